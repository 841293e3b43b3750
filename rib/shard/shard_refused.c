/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refusals of a shard: counts by peer, family and cause, and the last refused prefixes
 * (rib/shard/refused.h). Both are allocated at the first refusal, so a peer without refused routes costs
 * a pointer. Without memory, only rejected_total counts.
 */
#include "rib/shard/shard_impl.h"

static struct shard_refused *
counts_of(struct shard *s, struct shard_rib_in *r) RUNS_ON(role_rib)
{
	struct shard_refused *c = atomic_load_explicit(&r->refused, memory_order_relaxed);

	if (c != NULL)
		return c;
	c = arena_calloc(s->arena, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->next = s->refused_counts;
	s->refused_counts = c;
	/* release: pairs with the acquire in shard_peer_refused() */
	atomic_store_explicit(&r->refused, c, memory_order_release);
	return c;
}

/* ---- peers for which an alarm may be needed ---- */

static void
ailing_set(struct shard *s, struct peer_id peer, enum family family) RUNS_ON(role_rib)
{
	_Atomic uint64_t *word = &s->ailing[family][peer.v / 64];
	uint64_t bit = UINT64_C(1) << peer.v % 64, now = shard_load(word);

	if (!(now & bit))
		atomic_store_explicit(word, now | bit, memory_order_relaxed);
}

void
refused_settle(struct shard *s, struct peer_id peer, enum family family)
{
	const struct shard_rib_in *in = &shard_slot(s, peer)->rib[family];
	const struct shard_refused *c = atomic_load_explicit(&in->refused, memory_order_relaxed);
	_Atomic uint64_t *word = &s->ailing[family][peer.v / 64];
	bool ails = shard_load(&in->counts.waiting) > 0;

	for (enum refused_cause i = 0; c != NULL && !ails && i < REFUSED_CAUSES; i++)
		ails = refused_alarms(i) && shard_load(&c->count[i]) > 0;
	if (!ails)
		atomic_store_explicit(word, shard_load(word) & ~(UINT64_C(1) << peer.v % 64),
			memory_order_relaxed);
}

void
refused_waiting(struct shard *s, struct peer_id peer, enum family family, int64_t by)
{
	_Atomic uint64_t *waiting = &shard_slot(s, peer)->rib[family].counts.waiting;

	shard_count(waiting, by);
	if (shard_load(waiting) > 0)
		ailing_set(s, peer, family);
	else
		refused_settle(s, peer, family);
}

/* ---- counters ---- */

static struct refused_ring *
ring_of(struct shard *s) RUNS_ON(role_rib)
{
	struct refused_ring *r = atomic_load_explicit(&s->refused_ring, memory_order_relaxed);

	if (r == NULL && refused_ring_create(s->arena, &r) == 0)
		/* release: pairs with the acquire in shard_refused_find() */
		atomic_store_explicit(&s->refused_ring, r, memory_order_release);
	return r;
}

void
refused_count(struct shard *s, struct peer_id peer, enum family family, enum refused_cause cause,
	const struct rib_nlri *n, uint32_t node)
{
	struct shard_rib_in *in = &shard_slot(s, peer)->rib[family];
	struct shard_refused *c = counts_of(s, in);
	struct refused_route what = {.peer = peer,
		.cause = cause,
		.time_s = (uint32_t)(s->now_ns / 1000000000u),
		.time_ms = (uint16_t)(s->now_ns / 1000000u % 1000),
		.policy = cause == REFUSED_POLICY ? in->import_name : 0,
		.node = node};
	struct refused_ring *ring;

	shard_count(&in->counts.rejected_total, 1);
	if (c != NULL)
		shard_count(&c->count[cause], 1);
	if (c != NULL && refused_alarms(cause))
		ailing_set(s, peer, family);
	if (n == NULL)
		return;
	ring = ring_of(s);
	if (ring != NULL)
		refused_ring_put(ring, family, n->rd, &n->prefix, &what);
}

void
refused_withdrawn(
	struct shard *s, struct peer_id peer, enum family family, const struct rib_nlri *n)
{
	const struct refused_route none = {.peer = peer,
		.cause = REFUSED_NOT,
		.time_s = (uint32_t)(s->now_ns / 1000000000u),
		.time_ms = (uint16_t)(s->now_ns / 1000000u % 1000)};
	struct refused_ring *ring = atomic_load_explicit(&s->refused_ring, memory_order_relaxed);

	if (ring != NULL)
		refused_ring_put(ring, family, n->rd, &n->prefix, &none);
}

void
refused_not_installed(struct shard *s, struct peer_id peer, enum family family, int by)
{
	struct shard_refused *c = counts_of(s, &shard_slot(s, peer)->rib[family]);

	/* 0: there was no memory when the destination was to be counted */
	if (c == NULL || (by < 0 && shard_load(&c->count[REFUSED_NOT_INSTALLED]) == 0))
		return;
	shard_count(&c->count[REFUSED_NOT_INSTALLED], by);
	if (by > 0)
		ailing_set(s, peer, family);
	else
		refused_settle(s, peer, family);
}

enum refused_cause
refused_of(enum decision_reason reason)
{
	switch (reason) {
	case DECISION_AS_LOOP:
		return REFUSED_AS_LOOP;
	case DECISION_ORIGINATOR_LOOP:
		return REFUSED_ORIGINATOR_LOOP;
	case DECISION_CLUSTER_LOOP:
		return REFUSED_CLUSTER_LOOP;
	case DECISION_NO_POLICY:
		return REFUSED_NO_POLICY;
	default:
		return REFUSED_POLICY;
	}
}

void
refused_reset(struct shard_rib_in *r)
{
	struct shard_refused *c = atomic_load_explicit(&r->refused, memory_order_relaxed);

	atomic_store_explicit(&r->counts.rejected_total, 0, memory_order_relaxed);
	atomic_store_explicit(&r->counts.blackholed_total, 0, memory_order_relaxed);
	for (unsigned i = 0; c != NULL && i < REFUSED_CAUSES; i++) {
		if (i != REFUSED_NOT_INSTALLED)
			atomic_store_explicit(&c->count[i], 0, memory_order_relaxed);
	}
}

void
refused_fini(struct shard *s)
{
	struct shard_refused *c = s->refused_counts, *next;

	for (; c != NULL; c = next) {
		next = c->next;
		arena_free(s->arena, c);
	}
	refused_ring_destroy(atomic_load_explicit(&s->refused_ring, memory_order_relaxed));
}

/* ---- readers ---- */

bool
shard_peer_refused(
	const struct shard *s, struct peer_id id, enum family family, uint64_t out[REFUSED_CAUSES])
{
	const struct shard_peer_slot *slot = shard_slot(s, id);
	const struct shard_refused *c = NULL;
	uint64_t waiting = 0;

	if (slot != NULL && family < FAMILY_COUNT) {
		/* acquire: pairs with the release in counts_of() */
		c = atomic_load_explicit(&slot->rib[family].refused, memory_order_acquire);
		waiting = shard_load(&slot->rib[family].counts.waiting);
	}
	for (unsigned i = 0; i < REFUSED_CAUSES; i++)
		out[i] = c != NULL ? shard_load(&c->count[i]) : 0;
	out[REFUSED_NEXT_HOP] = waiting;
	return c != NULL || waiting > 0;
}

uint64_t
shard_ailing(const struct shard *s, enum family family, unsigned word)
{
	return shard_load(&s->ailing[family][word]);
}

unsigned
shard_refused_find(const struct shard *s, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max)
{
	/* acquire: pairs with the release in ring_of() */
	struct refused_ring *r = atomic_load_explicit(&s->refused_ring, memory_order_acquire);

	return refused_ring_find(r, family, rd, p, out, max);
}

unsigned
shard_refused_all(const struct shard *s, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max)
{
	/* acquire: pairs with the release in ring_of() */
	struct refused_ring *r = atomic_load_explicit(&s->refused_ring, memory_order_acquire);

	return refused_ring_all(r, family, rd, p, out, max);
}
