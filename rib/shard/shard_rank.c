/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranks the paths of a destination (rib/table/decision.h). Keys decide most comparisons, so that few attribute
 * sets are read.
 */
#include "rib/shard/shard_paths_impl.h"

/* All but the attributes. `prefix`: of a path that may have PATH_OWN; may be NULL otherwise. */
static void
peer_input(const struct shard *s, const struct shard_table *t, const struct prefix *prefix,
	const struct rib_path *p, struct decision_input *out) RUNS_ON(role_rib)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);
	const struct shard_next_hop *n = next_hop_of(s, path_vrf(s, t, p), p);
	const struct nexthop_own *own =
		prefix != NULL && (p->label_flags & PATH_OWN) ? next_hop_own(t, prefix, n) : NULL;

	out->attrs = NULL;
	out->eligible = (p->label_flags & PATH_NEXT_HOP_UP) != 0;
	out->refused = DECISION_EQUAL;
	out->external = atomic_load_explicit(&slot->external, memory_order_relaxed);
	out->local = p->peer.v == PEER_SELF.v;
	out->after_external = (p->label_flags & PATH_AFTER_EXTERNAL) != 0;
	out->after_internal = (p->label_flags & PATH_AFTER_INTERNAL) != 0;
	out->igp_metric = own != NULL ? own->metric
			  : n != NULL ? atomic_load_explicit(&n->metric, memory_order_relaxed)
				      : 0;
	out->router_id = atomic_load_explicit(&slot->router_id, memory_order_relaxed);
	out->peer_addr = atomic_load_explicit(&slot->key, memory_order_relaxed)->addr;
	path_identity(s, p, out);
}

static const struct attr_set *
attrs_of(const struct shard *s, const struct rib_path *p, struct decision_input *in)
{
	return attr_unpack_fixed(
		attr_get(s->attrs, p->accepted), (struct attr_set *)(void *)in->fixed);
}

static void
input_of(const struct shard *s, const struct shard_table *t, const struct prefix *prefix,
	const struct rib_path *p, struct decision_input *out) RUNS_ON(role_rib)
{
	peer_input(s, t, prefix, p, out);
	out->attrs = attrs_of(s, p, out);
}

/* False: the two peers announce paths of different neighbour ASes. */
static bool
may_be_neighbours(const struct shard *s, uint16_t a, uint16_t b)
{
	return s->near_as[a] == s->near_as[b] || s->near_as[a] == NEAR_AS_ANY ||
	       s->near_as[b] == NEAR_AS_ANY;
}

uint32_t
rank_key(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	return decision_key(attr_key_of(s, path_vrf(s, t, p), p),
		(p->label_flags & PATH_NEXT_HOP_UP) != 0, p->peer.v == PEER_SELF.v);
}

bool
rank_inputs(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	uint32_t a, const struct rib_path *q, uint32_t b, struct decision_input in[2])
{
	bool whole = ((a | b) & DECISION_KEY_RARE) != 0;

	if (((a ^ b) & DECISION_KEY_RANK) != 0)
		return false;
	peer_input(s, t, NULL, p, &in[0]);
	peer_input(s, t, NULL, q, &in[1]);
	in[0].attrs = whole ? attrs_of(s, p, &in[0]) : &decision_any_attrs;
	in[1].attrs = whole ? attrs_of(s, q, &in[1]) : &decision_any_attrs;
	return true;
}

/* RANK_BY_KEY_MAX: an insertion sort, and pairs of neighbours */
#define RANK_BY_KEY_MAX 16u

/* True if MED may decide between two of the paths. */
static bool
med_may_decide(const struct shard *s, const struct rib_path *p, unsigned n)
{
	uint32_t flags = 0;

	for (unsigned i = 0; i < n; i++)
		flags |= p[i].label_flags;
	for (unsigned i = 1; (flags & PATH_MED) != 0 && i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (may_be_neighbours(s, p[i].peer.v, p[j].peer.v))
				return true;
	return false;
}

/*
 * rank_paths() of few paths without MED and multipath: the keys decide most comparisons, and no attribute
 * set is read. False: not possible.
 */
static bool
rank_by_key(struct shard *s, const struct shard_table *t, unsigned n) RUNS_ON(role_rib)
{
	uint32_t key[RANK_BY_KEY_MAX];
	struct decision_input in[2];

	if (n > RANK_BY_KEY_MAX || s->config.max_paths > 1 || med_may_decide(s, s->keep, n))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (s->keep[i].label_flags & PATH_RANK_RARE)
			return false;
	for (unsigned i = 0; i < n; i++) {
		unsigned at = i;

		key[i] = rank_key(s, t, &s->keep[i]);
		for (; at > 0; at--) {
			unsigned other = s->order[at - 1];
			bool before = key[i] < key[other];

			if (rank_inputs(s, t, &s->keep[i], key[i], &s->keep[other], key[other], in))
				before = decision_before(&in[0], &in[1]);
			if (!before)
				break;
			s->order[at] = other;
		}
		s->order[at] = i;
	}
	s->multipath = (s->keep[s->order[0]].label_flags & PATH_NEXT_HOP_UP) != 0;
	return true;
}

bool
rank_paths(struct shard *s, const struct shard_table *t, const struct prefix *prefix, unsigned n,
	unsigned ordered)
{
	bool moved = false;

	if (n == 1) {
		/* most destinations of a network with one upstream; reads no attribute set */
		s->order[0] = 0;
		s->multipath = (s->keep[0].label_flags & PATH_NEXT_HOP_UP) != 0;
		return false;
	}
	if (!rank_by_key(s, t, n)) {
		for (unsigned i = 0; i < n; i++)
			input_of(s, t, prefix, &s->keep[i], &s->in[i]);
		decision_order(s->in, n, s->order, NULL);
		s->multipath = decision_multipath(s->in, n, s->order, s->config.max_paths);
	}
	for (unsigned i = 0; i < n && i < ordered; i++)
		moved |= s->order[i] != i;
	return moved;
}

enum decision_reason
rank_losing_step(const struct shard *s, const struct shard_table *t, const struct rib_path *best,
	const struct rib_path *rival)
{
	enum decision_reason reason[2];
	struct decision_input in[2];
	unsigned order[2];

	if (is_refused(rival))
		return flags_refused(rival->label_flags);
	input_of(s, t, NULL, best, &in[0]);
	input_of(s, t, NULL, rival, &in[1]);
	decision_order(in, 2, order, reason);
	/* a path that wins directly was beaten by a path of its neighbour AS */
	return order[0] == 0 ? reason[1] : DECISION_MED;
}

/* ---- MED beside ranked paths ---- */

void
near_as_set(struct shard *s, struct peer_id peer, uint32_t as)
{
	if (s->near_as[peer.v] == as)
		return;
	s->near_as[peer.v] = as;
	s->near_changes++;
}

static uint64_t
near_mask(struct shard *s, uint16_t peer)
{
	uint64_t mask = 0;

	if (s->near_mask_of[peer] == s->near_changes)
		return s->near_mask[peer];
	for (unsigned i = 0; i < PEER_MAX; i++)
		if (i != peer && s->near_as[i] != 0 && may_be_neighbours(s, peer, (uint16_t)i))
			mask |= 1ull << i % 64;
	s->near_mask[peer] = mask;
	s->near_mask_of[peer] = s->near_changes;
	return mask;
}

/* A bit for peer % 64 of each path of the destination. */
static uint64_t
peers_mask(const struct path_set *front, const struct dest_tail *tail)
{
	uint64_t mask = tail->peer_mask;

	for (unsigned i = 0; i < front->count; i++)
		mask |= 1ull << front->path[i].peer.v % 64;
	return mask;
}

static bool
med_differs(const struct shard *s, const struct attr_set *a, const struct rib_path *p)
{
	struct attr_set b;

	return !is_refused(p) &&
	       decision_med_differs(a, attr_unpack_fixed(attr_get(s->attrs, p->accepted), &b));
}

bool
rank_med_decides(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct path_set *front, const struct dest_tail *tail, const struct rib_path *p,
	unsigned skip)
{
	struct rib_path other;
	struct attr_set a;

	if ((near_mask(s, p->peer.v) & peers_mask(front, tail)) == 0)
		return false;
	(void)attr_unpack_fixed(attr_get(s->attrs, p->accepted), &a);
	for (unsigned i = 0; i < front->count; i++)
		if (i != skip && may_be_neighbours(s, p->peer.v, front->path[i].peer.v) &&
			med_differs(s, &a, &front->path[i]))
			return true;
	for (unsigned i = 0; i < tail->entries; i++)
		if (i + PATHS_PACKED_MAX != skip &&
			may_be_neighbours(s, p->peer.v, tail->peers[i].peer) &&
			dest_tail_path(t->dests, id, i, &other) && med_differs(s, &a, &other))
			return true;
	return false;
}
