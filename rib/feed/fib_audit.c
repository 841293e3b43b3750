/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit compares the routes of the RIB and the host with the answers of the workers' tables, at
 * both edges of every prefix and one address beyond each edge.
 *
 * For each table, the prefixes of the RIB and of the host are sorted and then swept in order of
 * address, merged with the prefixes of the fib. A stack holds the prefixes that cover the current
 * address, so that every edge has its longest match without a search and without code of the fib.
 * An address with a different answer becomes a suspect.
 *
 * Each suspect is looked up again by a search of all lengths. A suspect is a mismatch if no prefix
 * of the suspect has changed since the first lookup and the workers' tables contain everything that
 * the RIB held then. While its prefixes keep changing, a suspect waits for at most SUSPECT_NS and
 * then counts as skipped, so an audit ends even during churn.
 */
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed_impl.h"
#include "rib/feed/prefix_sort_impl.h"

#include <errno.h>
#include <string.h>

#define SUSPECTS_MAX 4096u
#define SUSPECT_NS 2000000000u
#define LEVELS_MAX 130u /* IPv6: every length, and one more */
#define CLOCK_EVERY 32u
#define SLICE_MIN_NS 250000u /* minimum per turn, with any amount of other work */
#define UNITS (2u * FIB_VRF_MAX) /* one for each VRF and family */

/* Expected answer where this prefix is the longest match. */
enum expect {
	EXPECT_NOTHING, /* no route for packets: the covering prefix decides */
	EXPECT_RIB,
	EXPECT_OWN,
	EXPECT_ANYTHING, /* no id or no memory for the paths: the tables keep the previous answer */
	EXPECT_LATER, /* the shard has not yet evaluated the loss of a next hop */
};

struct audit_level {
	struct prefix prefix;
	struct ip_addr last;
	enum expect expect;
	bool missing; /* the prefix is not installed */
	int cover; /* index of the level that decides; -1: no level */
	uint32_t sequence; /* of the destination's last change; 0: there is no destination */
	struct path_list_id list; /* EXPECT_OWN */
	struct feed_answer paths; /* EXPECT_RIB */
};

/* An address with an unexpected answer. */
struct audit_suspect {
	struct vrf_id vrf;
	struct ip_addr addr;
	struct prefix expected, found; /* .afi == AFI_NONE: none */
	uint32_t expected_sequence, found_sequence;
	uint64_t reserved; /* head of the journal at the last lookup that saw a change */
	uint64_t generation; /* of the fib, then */
	uint64_t since_ns; /* the first lookup */
};

/* A running audit. */
struct audit_run {
	enum { AUDIT_GATHER_RIB, AUDIT_GATHER_OWN, AUDIT_SWEEP, AUDIT_SUSPECTS } stage;
	unsigned unit, unit_end; /* VRF * 2 + family */
	struct vrf_id vrf;
	enum afi afi;
	struct prefix_sort *sort;
	struct walk walk;
	struct shards_table walked;
	bool has_table; /* of the RIB */
	int error;
	unsigned bucket;
	/* the sweep */
	struct prefix next, rib_next, fib_next; /* .afi == AFI_NONE: at the end */
	struct prefix fib_last;
	struct ip_addr checked; /* the last address */
	struct audit_level level[LEVELS_MAX];
	unsigned depth;
	struct audit_suspect suspect[SUSPECTS_MAX];
	unsigned suspect_count, suspect_at;
};

struct fib_auditor {
	struct fib_feed *feed;
	struct fib_audit result; /* of the newest audit */
	struct audit_run *run; /* NULL: no audit runs */
	_Atomic uint64_t done, total; /* prefixes; read by any thread */
};

/* ---- expected routes ---- */

/* The destination of `p`; false without a destination. */
static bool
rib_peek(
	const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct dest_view *view)
{
	const struct dest_table *t;
	struct dest_id id;

	if (!fib_feed_table(&f->source, vrf, p, &t))
		return false;
	id = dest_find(t, p);
	return id.v != DEST_NONE && dest_peek(t, id, view) && prefix_equal(&view->prefix, p);
}

static uint32_t
rib_sequence(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct dest_view view;

	return p->afi != AFI_NONE && rib_peek(f, vrf, p, &view) ? view.sequence : 0;
}

/*
 * True if the fib did not take the route of `p`: the instance has no room, or the shard has a
 * report of the failure (`noted`).
 */
static bool
refused(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, bool noted)
	RUNS_ON(role_fib)
{
	struct path_list_id list;

	return (noted || fib_is_full(f->config.fib, vrf, p->afi)) &&
	       !fib_shadow_get(f->config.fib, vrf, p, &list);
}

static void
level_make(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct audit_level *l)
	RUNS_ON(role_fib)
{
	enum feed_want want = WANT_NOTHING;
	bool noted = false; /* the shard knows that the tables lack the prefix */
	struct own_answer own;
	struct dest_view view;

	l->prefix = *p;
	l->expect = EXPECT_NOTHING;
	l->missing = false;
	l->sequence = 0;
	l->paths.count = 0;
	l->paths.blackhole = l->paths.failed = false;
	l->paths.instance = VRF_DEFAULT;
	if (rib_peek(f, vrf, p, &view)) {
		want = fib_feed_want(f, &f->source, vrf, &view, &l->paths);
		l->sequence = view.sequence;
		noted = view.fib == DEST_NOT_INSTALLED;
	}
	if (want == WANT_LIST)
		l->expect = EXPECT_RIB;
	else if (want == WANT_LATER)
		l->expect = l->paths.failed ? EXPECT_ANYTHING : EXPECT_LATER;
	if (f->own_lens[p->afi == AFI_IPV6][p->len] > 0 && fib_own_find(f, vrf, p, &own) &&
		(!feed_answers(&l->paths) ||
			!fib_feed_rib_wins(f, &f->source, vrf, p, l->paths.peer, &own))) {
		l->expect = EXPECT_OWN;
		l->list = own.list;
	}
	if (l->expect == EXPECT_ANYTHING) {
		l->missing = true;
	} else if (l->expect != EXPECT_NOTHING && ((fib_any_waiting(f->config.fib, vrf, p->afi) &&
							   fib_is_waiting(f->config.fib, vrf, p)) ||
							  refused(f, vrf, p, noted))) {
		l->missing = true;
		l->expect = EXPECT_NOTHING;
	}
}

/*
 * Compares a path list with an answer. While path lists are scarce, the list may have more or fewer
 * paths than the answer, so only the first counts.
 */
static bool
list_matches(const struct fib_feed *f, struct path_list_id id, const struct feed_answer *want)
{
	const struct path_list *l = &path_lists_array(f->path_lists)[id.v];
	const struct path *path;

	if (want->blackhole)
		return l->kind == PATH_LIST_BLACKHOLE;
	if (want->instance.v != VRF_DEFAULT.v)
		return l->kind == PATH_LIST_INSTANCE && l->port == want->instance.v;
	if (want->count == 0 || (l->kind != PATH_LIST_FORWARD && l->kind != PATH_LIST_PUSH))
		return false;
	path = path_list_paths(f->path_lists, id);
	if (f->scarce)
		return path[0].next_hop.v == want->path[0].next_hop.v;
	return l->path_count == want->count - want->backups && l->backup_count == want->backups &&
	       memcmp(path, want->path, want->count * sizeof(path[0])) == 0;
}

/* The answer of the workers' table. An instance without a table has no route. */
static void
look_up(const struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct fib_result *out)
{
	if (fib_lookup(f->config.fib, vrf, addr, out) != 0)
		*out = (struct fib_result){0};
}

/* True if `found` is the answer expected by level `l` (NULL: no route). */
static bool
answer_matches(
	const struct fib_feed *f, const struct audit_level *l, const struct fib_result *found)
{
	if (l == NULL)
		return !found->hit;
	if (l->expect == EXPECT_ANYTHING)
		return true;
	if (l->expect == EXPECT_LATER || !found->hit || !prefix_equal(&found->prefix, &l->prefix))
		return false;
	return l->expect == EXPECT_OWN ? found->path_list.v == l->list.v
				       : list_matches(f, found->path_list, &l->paths);
}

/* ---- suspects ---- */

static bool
suspects_full(const struct audit_run *r)
{
	return r->suspect_count + 4 > SUSPECTS_MAX; /* room for the suspects of one step */
}

/* Notes the present state of a suspect. */
static void
suspect_note(const struct fib_feed *f, struct audit_suspect *s, const struct audit_level *want,
	const struct fib_result *found)
{
	s->expected = want != NULL ? want->prefix : (struct prefix){0};
	s->expected_sequence = want != NULL ? want->sequence : 0;
	s->found = found->hit ? found->prefix : (struct prefix){0};
	s->found_sequence = rib_sequence(f, s->vrf, &s->found);
	s->reserved = journal_reserved(f->source.journal);
	s->generation = fib_generation(f->config.fib);
}

static bool
suspect_same(const struct audit_suspect *a, const struct audit_suspect *b)
{
	return prefix_equal(&a->expected, &b->expected) && prefix_equal(&a->found, &b->found) &&
	       a->expected_sequence == b->expected_sequence &&
	       a->found_sequence == b->found_sequence;
}

/*
 * True if the workers' tables contain everything that the RIB and the host held at the lookup: the
 * feed has read and committed the journal up to there, no walk that changes tables without a
 * journal entry is running, and both copies of the tables were painted since.
 */
static bool
tables_contain(const struct fib_feed *f, const struct audit_suspect *s)
{
	const struct feed_source *source = &f->source;

	if (!feed_walks_done(f) || source->reader == JOURNAL_LAPPED || f->lost.state == LOST_WALK ||
		f->lost.state == LOST_WALK_AGAIN)
		return false;
	if (journal_passed(source->cursor) < s->reserved ||
		(source->visible < s->reserved && source->visible != source->applied))
		return false;
	return fib_settled(f->config.fib) || fib_generation(f->config.fib) >= s->generation + 2;
}

static void
report(struct fib_auditor *a, const struct audit_suspect *s)
{
	if (a->result.mismatch_count < FIB_AUDIT_MISMATCHES_MAX)
		a->result.mismatch[a->result.mismatch_count] = (struct fib_mismatch){
			s->vrf, s->addr, .expected = s->expected, .found = s->found};
	a->result.mismatch_count++;
}

/* The longest match by a search of all lengths. False: no route. */
static bool
longest(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, struct audit_level *l)
	RUNS_ON(role_fib)
{
	for (int len = (int)prefix_max_len(addr->afi); len >= 0; len--) {
		struct prefix p = prefix_from_addr(addr, (uint8_t)len);

		level_make(f, vrf, &p, l);
		if (l->expect != EXPECT_NOTHING)
			return true;
	}
	return false;
}

/* True: the suspect is decided. */
static bool
suspect_look(struct fib_auditor *a, struct audit_suspect *s, uint64_t now) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_level level, *want = longest(f, s->vrf, &s->addr, &level) ? &level : NULL;
	struct audit_suspect seen = {.vrf = s->vrf, .addr = s->addr, .since_ns = s->since_ns};
	struct fib_result found;

	look_up(f, s->vrf, &s->addr, &found);
	if (answer_matches(f, want, &found))
		return true;
	suspect_note(f, &seen, want, &found);
	if (!suspect_same(s, &seen)) {
		*s = seen;
	} else if ((want == NULL || want->expect != EXPECT_LATER) && tables_contain(f, s)) {
		report(a, s);
		return true;
	}
	if (now < s->since_ns + SUSPECT_NS)
		return false;
	a->result.skipped++;
	return true;
}

static uint64_t
feed_now(const struct fib_feed *f)
{
	return f->work_ns + (walk_clock() - f->work_clock_ns);
}

/* In turn, until the deadline. */
static void
suspects_look(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	uint64_t now = feed_now(f);

	for (unsigned n = r->suspect_count; n > 0; n--) {
		if (r->suspect_at >= r->suspect_count)
			r->suspect_at = 0;
		if (suspect_look(a, &r->suspect[r->suspect_at], now))
			r->suspect[r->suspect_at] = r->suspect[--r->suspect_count];
		else
			r->suspect_at++;
		if (n % CLOCK_EVERY == 0 && walk_clock() >= deadline_ns)
			return;
	}
}

/* ---- the sweep ---- */

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
	unsigned octets = prefix_max_len(p->afi) / 8, at = p->len / 8;

	if (p->len % 8 != 0)
		a.b[at++] |= (uint8_t)(0xffu >> p->len % 8);
	if (at < octets)
		memset(&a.b[at], 0xff, octets - at);
	return a;
}

/* Moves to the next address, up or down; false at the end of the address space. */
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

/* Addresses come in rising order; an address is checked once. */
static void
check(struct fib_auditor *a, const struct ip_addr *addr) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	const struct audit_level *want = NULL;
	struct audit_suspect *s;
	struct fib_result found;

	if (r->checked.afi != AFI_NONE && memcmp(addr->b, r->checked.b, sizeof(addr->b)) <= 0)
		return;
	r->checked = *addr;
	look_up(f, r->vrf, addr, &found);
	a->result.checked++;
	if (r->depth > 0 && r->level[r->depth - 1].cover >= 0)
		want = &r->level[r->level[r->depth - 1].cover];
	if (answer_matches(f, want, &found))
		return;
	s = &r->suspect[r->suspect_count++];
	*s = (struct audit_suspect){.vrf = r->vrf, .addr = *addr, .since_ns = feed_now(f)};
	suspect_note(f, s, want, &found);
}

static void
level_push(struct fib_auditor *a, const struct prefix *p) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	struct audit_level *l = &r->level[r->depth];

	level_make(f, r->vrf, p, l);
	l->last = last_of(p);
	a->result.not_installed += l->missing;
	if (l->expect != EXPECT_NOTHING)
		l->cover = (int)r->depth;
	else
		l->cover = r->depth > 0 ? r->level[r->depth - 1].cover : -1;
	r->depth++;
}

/* Ends the topmost prefix: checks the last address and the address after the prefix. */
static void
level_end(struct fib_auditor *a) RUNS_ON(role_fib)
{
	struct audit_run *r = a->run;
	struct ip_addr end = r->level[r->depth - 1].last, first;

	check(a, &end);
	while (r->depth > 0 && memcmp(r->level[r->depth - 1].last.b, end.b, sizeof(end.b)) == 0)
		r->depth--;
	if (!step(&end, true))
		return;
	first = first_of(&r->next);
	if (r->next.afi == AFI_NONE || memcmp(first.b, end.b, sizeof(end.b)) != 0)
		check(a, &end);
}

/* The next prefix of the RIB, the host and the fib into r->next. */
static void
next_take(struct fib_auditor *a) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	int order, err;

	if (r->rib_next.afi == AFI_NONE && (err = prefix_sort_next(r->sort, &r->rib_next)) < 0)
		r->error = err;
	if (r->fib_next.afi == AFI_NONE && r->fib_last.afi != AFI_NONE) {
		if (fib_shadow_next(f->config.fib, r->vrf, &r->fib_last, &r->fib_next) &&
			r->fib_next.afi == r->afi)
			r->fib_last = r->fib_next;
		else
			r->fib_next = r->fib_last = (struct prefix){0};
	}
	r->next = (struct prefix){0};
	if (r->rib_next.afi == AFI_NONE && r->fib_next.afi == AFI_NONE)
		return;
	order = r->rib_next.afi == AFI_NONE   ? 1
		: r->fib_next.afi == AFI_NONE ? -1
					      : prefix_compare(&r->rib_next, &r->fib_next);
	r->next = order <= 0 ? r->rib_next : r->fib_next;
	if (order <= 0)
		r->rib_next.afi = AFI_NONE;
	if (order >= 0)
		r->fib_next.afi = AFI_NONE;
}

static void
sweep_begin(struct fib_auditor *a) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	struct path_list_id list;

	r->depth = 0;
	r->checked = (struct ip_addr){0};
	r->rib_next = (struct prefix){0};
	/* the default route, after which fib_shadow_next() continues */
	r->fib_last = (struct prefix){.afi = (uint8_t)r->afi};
	r->fib_next = fib_shadow_get(f->config.fib, r->vrf, &r->fib_last, &list)
			      ? r->fib_last
			      : (struct prefix){0};
	next_take(a);
}

/* One prefix, with all prefixes that begin at the same address. False: no prefix is left. */
static bool
sweep_step(struct fib_auditor *a) RUNS_ON(role_fib)
{
	struct audit_run *r = a->run;
	struct ip_addr first = first_of(&r->next), before = first;
	bool more = r->next.afi != AFI_NONE;

	if (r->depth > 0 &&
		(!more || memcmp(r->level[r->depth - 1].last.b, first.b, sizeof(first.b)) < 0)) {
		level_end(a);
		return true;
	}
	if (!more)
		return false;
	if (step(&before, false))
		check(a, &before);
	do {
		struct prefix p = r->next;

		atomic_fetch_add_explicit(&a->done, 1, memory_order_relaxed);
		level_push(a, &p);
		next_take(a);
		before = first_of(&r->next);
	} while (r->next.afi != AFI_NONE && memcmp(before.b, first.b, sizeof(first.b)) == 0);
	check(a, &first);
	return true;
}

/* ---- stages: each returns true if more is due ---- */

/*
 * The next VRF and family to audit; false at the end. The default VRF may be without a table of a
 * family; an instance has one from the first route on.
 */
static bool
unit_begin(struct fib_auditor *a) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;
	const struct shards *s = &f->source.shards;
	struct table_id table;

	prefix_sort_destroy(r->sort);
	r->sort = NULL;
	for (; r->unit < r->unit_end; r->unit++) {
		struct ip_addr any = {.afi = r->unit % 2 == 0 ? AFI_IPV4 : AFI_IPV6};
		struct fib_result found;

		r->vrf.v = (uint16_t)(r->unit / 2);
		r->afi = (enum afi)any.afi;
		r->has_table =
			shard_table_find(s->at[0], r->vrf, fib_feed_family(any.afi), &table) == 0;
		if (fib_lookup(f->config.fib, r->vrf, &any, &found) == 0 ||
			(r->has_table && r->vrf.v != VRF_DEFAULT.v))
			break;
	}
	if (r->unit == r->unit_end)
		return false;
	r->error = prefix_sort_create(f->config.arena, r->afi, &r->sort);
	if (r->has_table) {
		shards_table(s, table, &r->walked);
		walk_begin_all(&r->walk, &r->walked);
	}
	r->bucket = 0;
	r->stage = AUDIT_GATHER_RIB;
	return true;
}

static bool
gather_visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct audit_run *r = ctx;

	if (view->paths != NULL)
		r->error = prefix_sort_add(r->sort, &view->prefix);
	return r->error == 0;
}

static bool
gather_rib(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	const struct shards *s = &a->feed->source.shards;
	struct audit_run *r = a->run;
	struct table_id table;

	/* again in each slice: a removed table is gone then */
	if (!r->has_table || r->error != 0 ||
		shard_table_find(s->at[0], r->vrf, fib_feed_family((uint8_t)r->afi), &table) != 0)
		return false;
	shards_table(s, table, &r->walked);
	r->walk.table = r->walked.at[0];
	return walk_slice(&r->walk, UINT32_MAX, deadline_ns, walk_clock, gather_visit, r);
}

static void
gather_own_prefix(struct audit_run *r, struct vrf_id vrf, const struct prefix *p)
{
	if (r->error == 0 && vrf.v == r->vrf.v && p->afi == r->afi)
		r->error = prefix_sort_add(r->sort, p);
}

static bool
gather_own(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct fib_feed *f = a->feed;
	struct audit_run *r = a->run;

	while (r->bucket < OWN_BUCKETS) {
		for (const struct local_route *l = f->locals[r->bucket]; l != NULL; l = l->next)
			gather_own_prefix(r, l->vrf, &l->prefix);
		for (const struct host_route *h = f->routes[r->bucket]; h != NULL; h = h->next)
			gather_own_prefix(r, h->vrf, &h->prefix);
		if (++r->bucket % CLOCK_EVERY == 0 && walk_clock() >= deadline_ns)
			break;
	}
	return r->bucket < OWN_BUCKETS;
}

static bool
sweep(struct fib_auditor *a, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct audit_run *r = a->run;

	for (unsigned n = 1; !suspects_full(r) && r->error == 0; n++) {
		if (!sweep_step(a))
			return false;
		if (n % CLOCK_EVERY == 0 && walk_clock() >= deadline_ns)
			return true;
	}
	return r->error == 0;
}

static void
run_free(struct fib_auditor *a)
{
	if (a->run == NULL)
		return;
	prefix_sort_destroy(a->run->sort);
	arena_free(a->feed->config.arena, a->run);
	a->run = NULL;
}

static void
run_end(struct fib_auditor *a, int error)
{
	a->result.error = error;
	a->result.running = false;
	run_free(a);
}

bool
fib_auditor_work(struct fib_auditor *a, uint64_t deadline_ns)
{
	struct audit_run *r = a->run;
	uint64_t least;

	if (r == NULL)
		return false;
	if (r->error != 0) {
		run_end(a, r->error);
		return true;
	}
	least = walk_clock() + SLICE_MIN_NS;
	if (deadline_ns < least)
		deadline_ns = least;
	suspects_look(a, deadline_ns);
	switch (r->stage) {
	case AUDIT_GATHER_RIB:
		if (!gather_rib(a, deadline_ns))
			r->stage = AUDIT_GATHER_OWN;
		break;
	case AUDIT_GATHER_OWN:
		if (!gather_own(a, deadline_ns) && r->error == 0) {
			r->stage = AUDIT_SWEEP;
			sweep_begin(a);
		}
		break;
	case AUDIT_SWEEP:
		if (sweep(a, deadline_ns))
			return !suspects_full(r);
		r->unit++;
		if (r->error == 0 && !unit_begin(a))
			r->stage = AUDIT_SUSPECTS;
		break;
	case AUDIT_SUSPECTS:
		if (r->suspect_count == 0)
			run_end(a, 0);
		return false;
	}
	return true;
}

/* An estimate of the prefixes of the sweep: destinations, and of all VRFs also host routes. */
static uint64_t
prefixes_estimated(const struct fib_feed *f, const struct vrf_id *only)
{
	const struct shards *s = &f->source.shards;
	uint64_t total = 0;

	for (unsigned t = 0; t < shard_table_count(s->at[0]); t++) {
		struct table_id id = {(uint16_t)t};
		enum family family;
		struct vrf_id vrf;

		shard_table_key(s->at[0], id, &vrf, &family);
		if (!fib_feed_forwards(family) || (only != NULL && vrf.v != only->v))
			continue;
		for (unsigned i = 0; i < s->count; i++)
			total += shard_table(s->at[i], id) != NULL
					 ? dest_count(shard_table(s->at[i], id))
					 : 0;
	}
	for (unsigned family = 0; only == NULL && family < 2; family++)
		for (unsigned len = 0; len <= 128; len++)
			total += f->own_lens[family][len];
	return total;
}

int
fib_auditor_create(struct fib_feed *f, struct fib_auditor **out)
{
	struct fib_auditor *a = arena_calloc(f->config.arena, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->feed = f;
	*out = a;
	return 0;
}

void
fib_auditor_destroy(struct fib_auditor *a)
{
	if (a == NULL)
		return;
	run_free(a);
	arena_free(a->feed->config.arena, a);
}

int
fib_auditor_begin(struct fib_auditor *a, const struct vrf_id *only)
{
	unsigned first = only != NULL ? 2u * only->v : 0, end = only != NULL ? first + 2 : UNITS;

	if (a->feed->config.fib == NULL)
		return -ENODEV;
	if (a->run != NULL)
		return -EBUSY;
	a->run = arena_calloc(a->feed->config.arena, sizeof(*a->run));
	if (a->run == NULL) {
		a->result = (struct fib_audit){.error = -ENOMEM};
		return -ENOMEM;
	}
	a->run->unit = first < UNITS ? first : UNITS;
	a->run->unit_end = end < UNITS ? end : UNITS;
	a->result = (struct fib_audit){.running = true};
	atomic_store_explicit(&a->done, 0, memory_order_relaxed);
	atomic_store_explicit(&a->total, prefixes_estimated(a->feed, only), memory_order_relaxed);
	if (!unit_begin(a))
		a->run->stage = AUDIT_SUSPECTS;
	return 0;
}

const struct fib_audit *
fib_auditor_result(const struct fib_auditor *a)
{
	return &a->result;
}

void
fib_auditor_progress(const struct fib_auditor *a, uint64_t *done, uint64_t *total)
{
	*total = atomic_load_explicit(&a->total, memory_order_relaxed);
	*done = atomic_load_explicit(&a->done, memory_order_relaxed);
	if (*done > *total)
		*done = *total;
}
