/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of traces (rib/shard/trace.h): verdicts of import, and changed destinations. Changed paths for BMP. */
#include "rib/shard/shard_impl.h"

#include "rib/table/path_ring.h"
#include "rib/shard/trace.h"

void
shard_trace(struct shard *s, struct trace_tap *tap)
{
	s->tap = tap;
	s->traced.record = UINT64_MAX;
}

void
trace_verdict(struct shard *s, const struct shard_table *t, const struct rib_nlri *n,
	enum refused_cause cause, const struct policy *policy, uint32_t node)
{
	const struct shard_traced now = {
		s->cursor.record, s->cursor.nlri, s->cursor.input_index, cause};
	const char *name = policy != NULL ? policy_name(policy) : NULL;
	struct peer_id peer = s->cause->peer;
	struct trace_event e = {.kind = TRACE_VERDICT,
		.family = (uint8_t)t->family,
		.vrf = t->vrf,
		.peer = peer,
		.permit = cause == REFUSED_NOT,
		.reason = (uint8_t)cause,
		.node = node,
		.rd = n->rd,
		.prefix = n->prefix};

	e.traces = (uint8_t)(trace_of_peer(s->tap, peer) |
			     trace_of_prefix(s->tap, t->vrf, t->family, &n->prefix) |
			     trace_of_policy(s->tap, name));
	trace_name(&e, name);
	if (e.traces == 0 || (now.record == s->traced.record && now.nlri == s->traced.nlri &&
				     now.input == s->traced.input && now.cause == s->traced.cause))
		return;
	s->traced = now;
	trace_put(s->tap, &e, NULL);
}

void
trace_decision(struct shard *s, const struct shard_table *t, struct dest_id id, uint64_t sequence)
{
	struct trace_event e = {.kind = TRACE_DECISION,
		.family = (uint8_t)t->family,
		.vrf = t->vrf,
		.peer = {TRACE_NO_PEER},
		.number = sequence};
	struct dest_view v;

	if (!dest_peek(t->dests, id, &v))
		return;
	e.prefix = v.prefix;
	e.rd = v.rd;
	e.traces = (uint8_t)trace_of_prefix(s->tap, t->vrf, t->family, &v.prefix);
	if (s->cause != NULL)
		e.traces |= (uint8_t)trace_of_peer(s->tap, s->cause->peer);
	if (v.paths != NULL) {
		e.paths = (uint16_t)(v.paths->count + v.behind);
		e.permit = v.paths->eligible > 0;
	}
	if (e.permit)
		e.peer = v.paths->path[0].peer;
	if (e.traces != 0)
		trace_put(s->tap, &e, NULL);
}

void
shard_monitor(struct shard *s, struct path_ring *ring)
{
	s->changes = ring;
}

/* The path of the peer before the change: PATH_HAD_ bits. */
static uint16_t
had(const struct shard *s, unsigned drop, struct peer_id peer)
{
	for (unsigned i = 0; i < drop; i++)
		if (s->drop[i].peer.v == peer.v && !is_imported(&s->drop[i]))
			return (s->drop[i].received.v != 0 ? PATH_HAD_RECEIVED : 0) |
			       (s->drop[i].label_flags & PATH_REJECTED ? 0 : PATH_HAD_ACCEPTED);
	return 0;
}

void
changes_put(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct shard_change *change)
{
	struct path_change c = {.table = t->id, .peer = PEER_SELF};
	struct dest_view v;

	if (!dest_peek_best(t->dests, id, &v))
		return;
	c.prefix = v.prefix;
	c.rd = v.rd;
	for (unsigned i = 0; i < change->take + change->drop; i++) {
		const struct rib_path *p =
			i < change->take ? &s->take[i] : &s->drop[i - change->take];

		/* an imported path is in no Adj-RIB-In of the instance */
		if (p->peer.v == c.peer.v || p->peer.v == PEER_SELF.v || is_imported(p))
			continue;
		c.peer = p->peer;
		c.had = had(s, change->drop, p->peer);
		path_ring_put(s->changes, &c);
	}
}
