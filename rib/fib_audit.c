/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit: what must the workers answer for this address, by the RIB and the host's routes, and what do they answer?
 * Asked at the edges of every destination and host route, where a painter goes wrong first, and of every prefix in the fib.
 */
#include "rib/fib_feed_impl.h"

#include <errno.h>
#include <string.h>

#define SUSPECT_TRIES                                                                              \
	100000 /* turns with changes in between before a suspect is taken for a mismatch all the same */

/* Younger than what the feed has read: its change is on the way. */
static bool
young(const struct feed_source *s, const struct dest_view *view)
{
	return (int32_t)(view->sequence - (uint32_t)journal_passed(s->cursor)) > 0;
}

static bool
prefix_young(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	const struct dest_table *t;
	struct dest_view view;
	struct dest_id id;

	if (!fib_feed_table(&f->source, vrf, p, &t))
		return false;
	id = dest_find(t, p);
	return id.v != DEST_NONE && dest_peek(t, id, &view) && young(&f->source, &view);
}

struct rib_answer {
	bool found;
	bool later; /* the shard has not decided yet what it was told of a next hop; or no way there got an id */
	struct prefix prefix;
	struct feed_answer paths;
};

/*
 * The longest destination whose best path leads somewhere. One that leads nowhere (our own announcement) is no route for a packet: then
 * what covers it decides.
 */
static void
RUNS_ON(role_fib) shard_longest(struct fib_feed *f, const struct shard *s, struct vrf_id vrf,
	const struct ip_addr *addr, struct rib_answer *out)
{
	struct feed_answer paths;
	struct dest_view view;
	struct table_id table;
	bool later = false;

	if (shard_table_find(s, vrf, fib_feed_family(addr->afi), &table) != 0 ||
		dest_longest(shard_table(s, table), addr, &view).v == DEST_NONE)
		return;
	for (int len = view.prefix.len; len >= 0; len--) {
		struct prefix p = prefix_from_addr(addr, (uint8_t)len);
		struct dest_id id = dest_find(shard_table(s, table), &p);
		enum feed_want want;

		if (id.v == DEST_NONE || !dest_peek(shard_table(s, table), id, &view))
			continue;
		want = fib_feed_want(f, &f->source, vrf, &view, &paths);
		if (want == WANT_NOTHING)
			continue;
		later |= want == WANT_LATER;
		if (!out->found || view.prefix.len > out->prefix.len)
			*out = (struct rib_answer){true, later, view.prefix, paths};
		return;
	}
}

/* Both in one form. When lists ran out there may be less in the table than we would have put there now, or more. */
static bool
leads_there(const struct fib_feed *f, struct path_list_id id, const struct feed_answer *want)
{
	const struct path_list *l = &path_lists_array(f->path_lists)[id.v];

	if (want->blackhole)
		return l->kind == PATH_LIST_BLACKHOLE;
	if (want->count == 0 || l->kind != PATH_LIST_FORWARD)
		return false;
	if (f->scarce)
		return l->path[0].next_hop.v == want->path[0].next_hop.v;
	return l->path_count == want->count - want->backups && l->backup_count == want->backups &&
	       memcmp(l->path, want->path, want->count * sizeof(l->path[0])) == 0;
}

enum verdict { SAME, NOT_INSTALLED, DIFFERENT, UNSETTLED };

static enum verdict
RUNS_ON(role_fib) compare(
	struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_mismatch *out)
{
	struct rib_answer want = {0};
	struct fib_result found;
	struct own_answer own;
	struct prefix prefix;
	struct shard *shards[2];
	unsigned count = shards_covering(&f->source.shards, addr, shards);
	bool ours, same;

	if (fib_lookup(f->config.fib, vrf, addr, &found) != 0)
		return SAME; /* a family that is not forwarded in this VRF */
	for (unsigned i = 0; i < count; i++)
		shard_longest(f, shards[i], vrf, addr, &want);
	ours = fib_own_longest(f, vrf, addr, &prefix, &own) &&
	       (!want.found || prefix.len > want.prefix.len ||
		       (prefix.len == want.prefix.len &&
			       (!feed_answers(&want.paths) ||
				       !fib_feed_rib_wins(f, &f->source, want.paths.peer, &own))));
	if (ours) {
		want.found = true;
		want.later = false;
		want.prefix = prefix;
	}
	same = want.found == found.hit;
	if (same && found.hit)
		same = prefix_equal(&found.prefix, &want.prefix) &&
		       (ours ? found.path_list.v == own.list.v
			     : leads_there(f, found.path_list, &want.paths));
	if (same)
		return SAME;
	if (want.found &&
		(want.later ? want.paths.failed : fib_waits(f->config.fib, vrf, &want.prefix)))
		return NOT_INSTALLED;
	*out = (struct fib_mismatch){.vrf = vrf, .addr = *addr};
	if (want.found)
		out->expected = want.prefix;
	if (found.hit)
		out->found = found.prefix;
	if (want.later || (want.found && prefix_young(f, vrf, &want.prefix)) ||
		(found.hit && prefix_young(f, vrf, &found.prefix)))
		return UNSETTLED;
	return DIFFERENT;
}

static void
report(struct fib_feed *f, const struct fib_mismatch *m)
{
	if (f->audit.mismatch_count < FIB_AUDIT_MISMATCHES_MAX)
		f->audit.mismatch[f->audit.mismatch_count] = *m;
	f->audit.mismatch_count++;
}

/* Asked again when all is drained; a difference counts when nothing moved while we looked. */
static void
RUNS_ON(role_fib) suspects_recheck(struct fib_feed *f)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < f->suspect_count; i++) {
		struct audit_suspect *s = &f->suspects[i];
		struct fib_mismatch m;
		enum verdict v = compare(f, s->vrf, &s->addr, &m);

		f->audit.not_installed += v == NOT_INSTALLED;
		if (v == SAME || v == NOT_INSTALLED)
			continue;
		if ((v == DIFFERENT && fib_feed_drained(f)) || ++s->tries > SUSPECT_TRIES)
			report(f, &m);
		else
			f->suspects[kept++] = *s;
	}
	f->suspect_count = kept;
}

static bool
suspects_full(const struct fib_feed *f)
{
	return f->suspect_count + 4 > AUDIT_SUSPECTS_MAX; /* of one visit */
}

static void
RUNS_ON(role_fib) check(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct fib_mismatch m;

	f->audit.checked++;
	if (compare(f, vrf, addr, &m) != SAME)
		f->suspects[f->suspect_count++] = (struct audit_suspect){.vrf = vrf, .addr = *addr};
}

static struct ip_addr
first_of(const struct prefix *p)
{
	struct ip_addr a = {.afi = p->afi};

	memcpy(a.b, p->b, sizeof(a.b));
	return a;
}

static struct ip_addr
last_of(const struct prefix *p)
{
	struct ip_addr a = first_of(p);

	for (unsigned bit = p->len; bit < prefix_max_len(p->afi); bit++)
		a.b[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	return a;
}

/* The address next to it; false where addresses end. */
static bool
step(struct ip_addr *a, bool up)
{
	for (unsigned i = prefix_max_len(a->afi) / 8; i-- > 0;) {
		a->b[i] = (uint8_t)(up ? a->b[i] + 1 : a->b[i] - 1);
		if (a->b[i] != (up ? 0 : UINT8_MAX))
			return true;
	}
	return false;
}

static void
RUNS_ON(role_fib) check_edges(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct ip_addr first = first_of(p), last = last_of(p);

	check(f, vrf, &first);
	check(f, vrf, &last);
	if (step(&first, false))
		check(f, vrf, &first);
	if (step(&last, true))
		check(f, vrf, &last);
}

struct audit_context {
	struct fib_feed *f;
	struct vrf_id vrf;
};

static bool
RUNS_ON(role_fib) audit_visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct audit_context *c = ctx;

	check_edges(c->f, c->vrf, &view->prefix);
	return !suspects_full(c->f);
}

/* The next table that forwards; false at the end. */
static bool
audit_table(struct fib_feed *f, struct audit_context *c)
{
	const struct shards *s = &f->source.shards;

	for (; f->audit_table < shard_table_count(s->at[0]); f->audit_table++) {
		struct table_id table = {(uint16_t)f->audit_table};
		enum family family;

		shard_table_key(s->at[0], table, &c->vrf, &family);
		if (!fib_feed_forwards(family))
			continue;
		if (f->audit_walk.table == NULL) {
			shards_table(s, table, &f->audited);
			walk_begin_all(&f->audit_walk, &f->audited);
		}
		return true;
	}
	return false;
}

/* Each returns true while there is more of its stage. */
static bool
RUNS_ON(role_fib) audit_rib(struct fib_feed *f, uint64_t deadline_ns)
{
	struct audit_context c = {.f = f};

	if (!audit_table(f, &c))
		return false;
	if (!walk_slice(&f->audit_walk, UINT32_MAX, deadline_ns, walk_clock, audit_visit, &c) &&
		walk_done(&f->audit_walk)) {
		f->audit_walk = (struct walk){0};
		f->audit_table++;
	}
	return true;
}

/* They are few: a bucket that changes between two turns may be seen in part twice, or not. */
static bool
RUNS_ON(role_fib) audit_own(struct fib_feed *f)
{
	const struct local_route *l;
	const struct host_route *r;
	unsigned at = 0;

	if (f->audit_bucket == OWN_BUCKETS)
		return false;
	for (l = f->locals[f->audit_bucket]; l != NULL && !suspects_full(f); l = l->next) {
		if (at++ == f->audit_at && ++f->audit_at)
			check_edges(f, l->vrf, &l->prefix);
	}
	for (r = f->routes[f->audit_bucket]; l == NULL && r != NULL && !suspects_full(f);
		r = r->next) {
		if (at++ == f->audit_at && ++f->audit_at)
			check_edges(f, r->vrf, &r->prefix);
	}
	if (l == NULL && r == NULL) {
		f->audit_bucket++;
		f->audit_at = 0;
	}
	return true;
}

/* What stands in the fib and should not is near nothing that the RIB knows. */
static bool
RUNS_ON(role_fib) audit_fib(struct fib_feed *f, uint64_t deadline_ns)
{
	for (unsigned n = 0; !suspects_full(f); n++) {
		struct ip_addr first, last;
		struct prefix next;

		if (n % 64 == 63 && walk_clock() >= deadline_ns)
			return true;
		if (!fib_shadow_next(f->config.fib, f->audit_vrf,
			    f->audit_prefix.afi != AFI_NONE ? &f->audit_prefix : NULL, &next)) {
			f->audit_prefix = (struct prefix){0};
			return ++f->audit_vrf.v < FIB_VRF_MAX;
		}
		f->audit_prefix = next;
		first = first_of(&next);
		last = last_of(&next);
		check(f, f->audit_vrf, &first);
		check(f, f->audit_vrf, &last);
	}
	return true;
}

bool
fib_audit_work(struct fib_feed *f, uint64_t deadline_ns)
{
	bool more = true;

	if (f->suspect_count > 0)
		suspects_recheck(f);
	if (suspects_full(f))
		return false; /* until the journal has drained */
	switch (f->audit_stage) {
	case AUDIT_RIB:
		if (!audit_rib(f, deadline_ns))
			f->audit_stage = AUDIT_OWN;
		break;
	case AUDIT_OWN:
		if (!audit_own(f))
			f->audit_stage = AUDIT_FIB;
		break;
	case AUDIT_FIB:
		if (!audit_fib(f, deadline_ns))
			f->audit_stage = AUDIT_SUSPECTS;
		break;
	case AUDIT_SUSPECTS:
		f->audit.running = f->suspect_count > 0;
		more = false;
		break;
	}
	return more;
}

int
fib_feed_audit_begin(struct fib_feed *f)
{
	if (f->config.fib == NULL)
		return -ENODEV;
	if (f->audit.running)
		return -EBUSY;
	f->audit = (struct fib_audit){.running = true};
	f->audit_stage = AUDIT_RIB;
	f->audit_walk = (struct walk){0};
	f->audit_table = 0;
	f->audit_bucket = f->audit_at = 0;
	f->audit_vrf = (struct vrf_id){0};
	f->audit_prefix = (struct prefix){0};
	f->suspect_count = 0;
	return 0;
}

const struct fib_audit *
fib_feed_audit(const struct fib_feed *f)
{
	return &f->audit;
}
