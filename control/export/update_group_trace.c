/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of traces (rib/shard/trace.h): destinations that a group has evaluated. Names of changed routes for BMP. */
#include "control/export/update_group_impl.h"

#include "rib/table/path_ring.h"
#include "rib/shard/trace.h"

void
update_groups_trace(struct update_groups *s, struct trace_tap *tap)
{
	s->tap = tap;
}

/* Bits of the filters that name a member of the group. */
static unsigned
trace_of_members(const struct update_group *g)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < TRACES_MAX; i++) {
		const struct trace_filter *f = trace_filter_at(g->set->tap, i);

		if (f->of == TRACE_OF_PEER && member_find(g, f->peer) != NULL)
			bits |= 1u << i;
	}
	return bits;
}

void
trace_change(struct update_group *g, struct dest_id id, const struct route_key *k)
{
	const struct policy *policy = g->rules.policy;
	struct trace_event e = {.kind = TRACE_EXPORT,
		.family = (uint8_t)g->rules.family,
		.peer = {TRACE_NO_PEER},
		.number = g->id,
		.rd = k->rd,
		.prefix = k->prefix};
	enum update_refusal why = EXPORT_NO_ROUTE;
	struct dest_view view;
	enum family family;

	shard_table_key(g->set->shards.at[0], g->rules.table, &e.vrf, &family);
	trace_name(&e, policy != NULL ? policy_name(policy) : NULL);
	e.traces = (uint8_t)(trace_of_prefix(g->set->tap, e.vrf, g->rules.family, &k->prefix) |
			     trace_of_policy(g->set->tap, policy != NULL ? e.policy : NULL) |
			     trace_of_members(g));
	if (e.traces == 0)
		return;
	if (id.v == DEST_DEFAULT.v)
		why = EXPORT_PERMITTED;
	else if (shards_peek(&g->table, id, &view) && view.paths != NULL &&
		 view.paths->eligible > 0 && rules_explain(g, id, &view, &why, &e.node) < 0)
		why = EXPORT_PERMITTED;
	e.permit = adj_rib_out_get(g->out, id).record.v != 0;
	e.reason = (uint8_t)why;
	trace_put(g->set->tap, &e, NULL);
}

/* ---- names for BMP ---- */

void
update_groups_monitor(struct update_groups *s, struct path_ring *ring)
{
	s->changes = ring;
}

/* The number of a group takes the places of peer and table. */
void
change_name(struct update_group *g, const struct route_key *k, uint16_t had)
{
	const struct path_change c = {.rd = k->rd,
		.prefix = k->prefix,
		.peer = {(uint16_t)(g->id % PEER_MAX)},
		.table = {(uint16_t)(g->id / PEER_MAX)},
		.had = had};

	path_ring_put(g->set->changes, &c);
}

bool
update_group_named(const struct update_groups *s, const struct path_change *name,
	enum family *family, struct table_id *table, uint64_t peers[PEER_WORDS])
{
	const struct update_group *g = s->groups;

	while (g != NULL &&
		(g->id % PEER_MAX != name->peer.v || (uint16_t)(g->id / PEER_MAX) != name->table.v))
		g = g->next;
	if (g == NULL)
		return false;
	*family = g->rules.family;
	*table = g->rules.table;
	for (const struct update_member *m = g->members; m != NULL; m = m->next)
		peers[m->id.v / 64] |= 1ull << m->id.v % 64;
	return true;
}
