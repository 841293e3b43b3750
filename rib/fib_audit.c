/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The audit: what must the workers answer for this address, by the RIB and the host's routes, and what do they answer?
 * Asked at the edges of every destination, where a painter goes wrong first.
 */
#include "rib/fib_feed_impl.h"

#include <errno.h>
#include <string.h>

#define SUSPECT_TRIES 100000 /* turns with changes in between before a suspect is taken for a mismatch all the same */

/* The longest local route that contains `addr`. */
static const struct local_route *
local_longest(const struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (int len = (int)prefix_max_len(addr->afi); len >= 0; len--) {
		struct prefix p;
		const struct local_route *l;

		if (f->local_lens[len] == 0)
			continue;
		p = prefix_from_addr(addr, (uint8_t)len);
		l = fib_feed_local_find(f, vrf, &p);
		if (l != NULL)
			return l;
	}
	return NULL;
}

/*
 * The longest destination whose best path leads somewhere. One that leads nowhere (our own announcement) is no route for a packet: then
 * what covers it decides.
 */
static bool RUNS_ON(role_fib)
rib_longest(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, struct prefix *prefix,
	struct path_list_id *list)
{
	bool found = false;

	for (unsigned i = 0; i < f->config.shard_count; i++) {
		const struct feed_source *s = &f->sources[i];
		struct dest_view view;
		struct table_id table;
		struct path_list_id candidate;

		if (shard_table_find(s->shard, vrf, FAMILY_IPV4_UNICAST, &table) != 0)
			continue;
		if (dest_longest(shard_table(s->shard, table), addr, &view).v == DEST_NONE)
			continue;
		while (!fib_feed_list_of(f, s, vrf, &view, &candidate)) {
			int len = view.prefix.len - 1;

			for (; len >= 0; len--) {
				struct prefix p = prefix_from_addr(addr, (uint8_t)len);
				struct dest_id id = dest_find(shard_table(s->shard, table), &p);

				if (id.v != DEST_NONE && dest_peek(shard_table(s->shard, table), id, &view))
					break;
			}
			if (len < 0)
				goto next;
		}
		if (!found || view.prefix.len > prefix->len) {
			*prefix = view.prefix;
			*list = candidate;
			found = true;
		}
next:;
	}
	return found;
}

static bool RUNS_ON(role_fib)
differs(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_mismatch *out)
{
	const struct local_route *local = local_longest(f, vrf, addr);
	struct path_list_id list = {PATH_LIST_NONE};
	struct prefix expected = {0};
	struct fib_result found;
	bool any = rib_longest(f, vrf, addr, &expected, &list);

	if (local != NULL && (!any || local->prefix.len >= expected.len)) {
		expected = local->prefix;
		list = local->list;
		any = true;
	}
	if (fib_lookup(f->config.fib, vrf, addr, &found) != 0)
		found = (struct fib_result){0};
	if (any == found.hit && (!any || (found.path_list.v == list.v && prefix_equal(&found.prefix, &expected))))
		return false;
	*out = (struct fib_mismatch){.vrf = vrf, .addr = *addr};
	if (any)
		out->expected = expected;
	if (found.hit)
		out->found = found.prefix;
	return true;
}

static void
report(struct fib_feed *f, const struct fib_mismatch *m)
{
	if (f->audit.mismatch_count < FIB_AUDIT_MISMATCHES_MAX)
		f->audit.mismatch[f->audit.mismatch_count] = *m;
	f->audit.mismatch_count++;
}

/* Asked again when all is drained; a difference counts when nothing moved while we looked. */
static void RUNS_ON(role_fib)
suspects_recheck(struct fib_feed *f)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < f->suspect_count; i++) {
		struct audit_suspect *s = &f->suspects[i];
		struct fib_mismatch m;

		if (!differs(f, s->vrf, &s->addr, &m))
			continue;
		if (fib_feed_drained(f) || ++s->tries > SUSPECT_TRIES)
			report(f, &m);
		else
			f->suspects[kept++] = *s;
	}
	f->suspect_count = kept;
}

static void RUNS_ON(role_fib)
check(struct fib_feed *f, struct vrf_id vrf, uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);
	struct fib_mismatch m;

	f->audit.checked++;
	if (differs(f, vrf, &a, &m))
		f->suspects[f->suspect_count++] = (struct audit_suspect){.vrf = vrf, .addr = a};
}

struct audit_context {
	struct fib_feed *f;
	struct vrf_id vrf;
};

static bool RUNS_ON(role_fib)
audit_visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct audit_context *c = ctx;
	uint32_t first = prefix_v4(&view->prefix);
	uint32_t last = first | (view->prefix.len == 0 ? UINT32_MAX : view->prefix.len == 32 ? 0 : UINT32_MAX >> view->prefix.len);

	check(c->f, c->vrf, first);
	check(c->f, c->vrf, last);
	if (first > 0)
		check(c->f, c->vrf, first - 1);
	if (last < UINT32_MAX)
		check(c->f, c->vrf, last + 1);
	/* room for this visitor's four once more */
	return c->f->suspect_count + 4 <= AUDIT_SUSPECTS_MAX;
}

/* The next IPv4 table of the next shard; false at the end. */
static bool
audit_table(struct fib_feed *f, struct audit_context *c)
{
	while (f->audit_source < f->config.shard_count) {
		struct shard *s = f->sources[f->audit_source].shard;

		for (; f->audit_table < shard_table_count(s); f->audit_table++) {
			struct table_id table = {(uint16_t)f->audit_table};
			enum family family;

			shard_table_key(s, table, &c->vrf, &family);
			if (family != FAMILY_IPV4_UNICAST)
				continue;
			if (f->audit_walk.table == NULL)
				walk_begin(&f->audit_walk, shard_table(s, table));
			return true;
		}
		f->audit_source++;
		f->audit_table = 0;
	}
	return false;
}

bool
fib_audit_work(struct fib_feed *f, uint64_t deadline_ns)
{
	struct audit_context c = {.f = f};

	if (f->suspect_count > 0)
		suspects_recheck(f);
	if (f->suspect_count + 4 > AUDIT_SUSPECTS_MAX)
		return false; /* until the journal has drained */
	if (!audit_table(f, &c)) {
		f->audit.running = f->suspect_count > 0;
		return false;
	}
	if (!walk_slice(&f->audit_walk, UINT32_MAX, deadline_ns, fib_feed_now, audit_visit, &c) && walk_done(&f->audit_walk)) {
		f->audit_walk = (struct walk){0};
		f->audit_table++;
	}
	return true;
}

int
fib_feed_audit_begin(struct fib_feed *f)
{
	if (f->audit.running)
		return -EBUSY;
	f->audit = (struct fib_audit){.running = true};
	f->audit_walk = (struct walk){0};
	f->audit_source = f->audit_table = 0;
	f->suspect_count = 0;
	return 0;
}

const struct fib_audit *
fib_feed_audit(const struct fib_feed *f)
{
	return &f->audit;
}
