/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/refused.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static const char *const texts[REFUSED_CAUSES] = {
	[REFUSED_NOT] = "",
	[REFUSED_AS_LOOP] = "as-loop",
	[REFUSED_ORIGINATOR_LOOP] = "originator-loop",
	[REFUSED_CLUSTER_LOOP] = "cluster-loop",
	[REFUSED_FIRST_AS] = "first-as",
	[REFUSED_AS_PATH_LENGTH] = "as-path-length",
	[REFUSED_AS_SET] = "as-set",
	[REFUSED_ROUTE_LEAK] = "route-leak",
	[REFUSED_NEXT_HOP] = "next-hop",
	[REFUSED_NO_POLICY] = "no-policy",
	[REFUSED_POLICY] = "policy",
	[REFUSED_BLACKHOLE] = "blackhole",
	[REFUSED_PREFIX_LIMIT] = "prefix-limit",
	[REFUSED_UNUSABLE_PREFIX] = "unusable-prefix",
	[REFUSED_UNUSABLE_LABEL] = "unusable-label",
	[REFUSED_NOT_INSTALLED] = "not-installed",
	[REFUSED_MALFORMED_OTHER] = "malformed-attribute",
	[REFUSED_MALFORMED_ORIGIN] = "malformed-origin",
	[REFUSED_MALFORMED_AS_PATH] = "malformed-as-path",
	[REFUSED_MALFORMED_NEXT_HOP] = "malformed-next-hop",
	[REFUSED_MALFORMED_MED] = "malformed-med",
	[REFUSED_MALFORMED_LOCAL_PREF] = "malformed-local-pref",
	[REFUSED_MALFORMED_ATOMIC_AGGREGATE] = "malformed-atomic-aggregate",
	[REFUSED_MALFORMED_AGGREGATOR] = "malformed-aggregator",
	[REFUSED_MALFORMED_COMMUNITIES] = "malformed-communities",
	[REFUSED_MALFORMED_ORIGINATOR_ID] = "malformed-originator-id",
	[REFUSED_MALFORMED_CLUSTER_LIST] = "malformed-cluster-list",
	[REFUSED_MALFORMED_MP_REACH] = "malformed-mp-reach-nlri",
	[REFUSED_MALFORMED_MP_UNREACH] = "malformed-mp-unreach-nlri",
	[REFUSED_MALFORMED_EXT_COMMUNITIES] = "malformed-ext-communities",
	[REFUSED_MALFORMED_IPV6_EXT_COMMUNITIES] = "malformed-ipv6-ext-communities",
	[REFUSED_MALFORMED_LARGE_COMMUNITIES] = "malformed-large-communities",
	[REFUSED_MALFORMED_OTC] = "malformed-only-to-customer",
};

/*
 * By type code (IANA, BGP Path Attributes). An attribute that RFC 7606 discards (AS4_PATH,
 * AS4_AGGREGATOR) refuses no route.
 */
static const uint8_t malformed[] = {
	[1] = REFUSED_MALFORMED_ORIGIN,
	[2] = REFUSED_MALFORMED_AS_PATH,
	[3] = REFUSED_MALFORMED_NEXT_HOP,
	[4] = REFUSED_MALFORMED_MED,
	[5] = REFUSED_MALFORMED_LOCAL_PREF,
	[6] = REFUSED_MALFORMED_ATOMIC_AGGREGATE,
	[7] = REFUSED_MALFORMED_AGGREGATOR,
	[8] = REFUSED_MALFORMED_COMMUNITIES,
	[9] = REFUSED_MALFORMED_ORIGINATOR_ID,
	[10] = REFUSED_MALFORMED_CLUSTER_LIST,
	[14] = REFUSED_MALFORMED_MP_REACH,
	[15] = REFUSED_MALFORMED_MP_UNREACH,
	[16] = REFUSED_MALFORMED_EXT_COMMUNITIES,
	[25] = REFUSED_MALFORMED_IPV6_EXT_COMMUNITIES,
	[32] = REFUSED_MALFORMED_LARGE_COMMUNITIES,
	[35] = REFUSED_MALFORMED_OTC,
};

enum refused_cause
refused_malformed(uint8_t type)
{
	if (type >= sizeof(malformed) || malformed[type] == REFUSED_NOT)
		return REFUSED_MALFORMED_OTHER;
	return (enum refused_cause)malformed[type];
}

const char *
refused_text(enum refused_cause cause)
{
	return cause < REFUSED_CAUSES ? texts[cause] : "";
}

bool
refused_by_policy(enum refused_cause cause)
{
	return cause == REFUSED_POLICY || cause == REFUSED_NO_POLICY || cause == REFUSED_BLACKHOLE;
}

static bool
refused_by_loop(enum refused_cause cause)
{
	return cause == REFUSED_AS_LOOP || cause == REFUSED_ORIGINATOR_LOOP ||
	       cause == REFUSED_CLUSTER_LOOP;
}

bool
refused_alarms(enum refused_cause cause)
{
	return !refused_by_policy(cause) && !refused_by_loop(cause);
}

/* ---- the ring ---- */

#define INDEX_NONE UINT32_MAX

/*
 * 48 bytes. `stamp` is the entry number + 1 above the time in seconds; 0: the writer is at work.
 * All words are relaxed between the fences of entry_write() and entry_read(), which pair.
 */
struct entry {
	_Atomic uint64_t stamp, prefix[2], rd, what, node;
};
static_assert(sizeof(struct entry) == 48, "REFUSED_RING of them are 6 MiB");

/* What an entry is about. */
struct subject {
	struct prefix prefix;
	struct vpn_rd rd;
	enum family family;
};

struct refused_ring {
	struct arena *arena;
	_Atomic uint64_t put; /* entries ever written */
	/*
	 * Reader: the newest entry of each hash, and for each entry the next older one with an
	 * equal hash.
	 */
	uint64_t indexed; /* entries ever indexed */
	uint32_t *head, *before;
	struct entry entry[REFUSED_RING];
};

int
refused_ring_create(struct arena *a, struct refused_ring **out)
{
	struct refused_ring *r = arena_calloc(a, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->arena = a;
	*out = r;
	return 0;
}

void
refused_ring_destroy(struct refused_ring *r)
{
	if (r == NULL)
		return;
	arena_free(r->arena, r->head);
	arena_free(r->arena, r->before);
	arena_free(r->arena, r);
}

static uint64_t
entry_what(enum family family, const struct prefix *p, const struct refused_route *what)
{
	return (uint64_t)what->peer.v | (uint64_t)what->cause << 16 | (uint64_t)family << 24 |
	       (uint64_t)p->afi << 32 | (uint64_t)p->len << 40 | (uint64_t)what->policy << 48;
}

void
refused_ring_put(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, const struct refused_route *what)
{
	uint64_t n = atomic_load_explicit(&r->put, memory_order_relaxed), b[2];
	struct entry *e = &r->entry[n % REFUSED_RING];

	memcpy(b, p->b, sizeof(b));
	atomic_store_explicit(&e->stamp, 0, memory_order_relaxed);
	/* release: pairs with the acquire fence of entry_read() */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&e->prefix[0], b[0], memory_order_relaxed);
	atomic_store_explicit(&e->prefix[1], b[1], memory_order_relaxed);
	atomic_store_explicit(&e->rd, rd.v, memory_order_relaxed);
	atomic_store_explicit(&e->what, entry_what(family, p, what), memory_order_relaxed);
	atomic_store_explicit(
		&e->node, (uint64_t)what->time_ms << 32 | what->node, memory_order_relaxed);
	/* release, both: pair with the acquires of entry_read() and index_add() */
	atomic_store_explicit(&e->stamp, (n + 1) << 32 | what->time_s, memory_order_release);
	atomic_store_explicit(&r->put, n + 1, memory_order_release);
}

/* Reads entry `n`. False: overwritten by a newer entry. */
static bool
entry_read(const struct refused_ring *r, uint64_t n, struct subject *on, struct refused_route *out)
{
	const struct entry *e = &r->entry[n % REFUSED_RING];
	/* acquire: pairs with the release in refused_ring_put() */
	uint64_t stamp = atomic_load_explicit(&e->stamp, memory_order_acquire), b[2], what, node;

	b[0] = atomic_load_explicit(&e->prefix[0], memory_order_relaxed);
	b[1] = atomic_load_explicit(&e->prefix[1], memory_order_relaxed);
	on->rd.v = atomic_load_explicit(&e->rd, memory_order_relaxed);
	what = atomic_load_explicit(&e->what, memory_order_relaxed);
	node = atomic_load_explicit(&e->node, memory_order_relaxed);
	/* acquire: pairs with the release fence of refused_ring_put() */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&e->stamp, memory_order_relaxed) != stamp ||
		stamp >> 32 != (uint32_t)(n + 1))
		return false;
	memcpy(on->prefix.b, b, sizeof(b));
	on->prefix.afi = (uint8_t)(what >> 32);
	on->prefix.len = (uint8_t)(what >> 40);
	on->family = (enum family)(what >> 24 & 0xff);
	*out = (struct refused_route){.peer = {(uint16_t)what},
		.cause = (enum refused_cause)(what >> 16 & 0xff),
		.time_s = (uint32_t)stamp,
		.time_ms = (uint16_t)(node >> 32),
		.policy = (uint16_t)(what >> 48),
		.node = (uint32_t)node};
	return true;
}

static uint32_t
index_slot(const struct subject *on)
{
	return (uint32_t)(vpn_prefix_hash(on->rd, &on->prefix) + on->family) % REFUSED_RING;
}

static bool
index_create(struct refused_ring *r)
{
	if (r->head != NULL)
		return true;
	r->head = arena_alloc(r->arena, REFUSED_RING * sizeof(*r->head));
	r->before = arena_alloc(r->arena, REFUSED_RING * sizeof(*r->before));
	if (r->head == NULL || r->before == NULL) {
		arena_free(r->arena, r->head);
		arena_free(r->arena, r->before);
		r->head = r->before = NULL;
		return false;
	}
	memset(r->head, 0xff, REFUSED_RING * sizeof(*r->head));
	return true;
}

/* Indexes all entries written since the last call. Returns the number of entries ever written. */
static uint64_t
index_add(struct refused_ring *r)
{
	/* acquire: pairs with the release in refused_ring_put() */
	uint64_t put = atomic_load_explicit(&r->put, memory_order_acquire);
	struct refused_route what;
	struct subject on;

	if (put - r->indexed > REFUSED_RING)
		r->indexed = put - REFUSED_RING;
	for (; r->indexed < put; r->indexed++) {
		uint32_t slot;

		if (!entry_read(r, r->indexed, &on, &what))
			continue;
		slot = index_slot(&on);
		r->before[r->indexed % REFUSED_RING] = r->head[slot];
		r->head[slot] = (uint32_t)r->indexed;
	}
	return put;
}

static bool
has_peer(const struct refused_route *list, unsigned n, struct peer_id peer)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].peer.v == peer.v)
			return true;
	return false;
}

static unsigned
without_withdrawn(struct refused_route *list, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		if (list[i].cause != REFUSED_NOT)
			list[count++] = list[i];
	return count;
}

/*
 * A chain leads from the newest entry of a hash to older entries. An overwritten entry ends the
 * chain, because all later ones are older still. Numbers are kept in 32 bits: numbers in the ring
 * differ by less than REFUSED_RING.
 */
static unsigned
ring_find(struct refused_ring *r, enum family family, struct vpn_rd rd, const struct prefix *p,
	bool all, struct refused_route *out, unsigned max) RUNS_ON(role_main)
{
	const struct subject on = {*p, rd, family};
	unsigned count = 0;
	uint32_t at, age = 0;
	uint64_t put;

	if (r == NULL || !index_create(r))
		return 0;
	put = index_add(r);
	at = r->head[index_slot(&on)];
	while (at != INDEX_NONE && count < max) {
		uint32_t now = (uint32_t)(put - 1) - at;
		struct refused_route what;
		struct subject its;

		/* `now < age`: a number of an earlier round of 2^32 */
		if (now >= REFUSED_RING || now >= put || now < age)
			break;
		age = now + 1;
		if (!entry_read(r, put - 1 - now, &its, &what))
			break;
		if (its.family == family && its.rd.v == rd.v && prefix_equal(&its.prefix, p) &&
			(all || !has_peer(out, count, what.peer)))
			out[count++] = what;
		at = r->before[(put - 1 - now) % REFUSED_RING];
	}
	return count;
}

unsigned
refused_ring_find(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max)
{
	return without_withdrawn(out, ring_find(r, family, rd, p, false, out, max));
}

unsigned
refused_ring_all(struct refused_ring *r, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max)
{
	return ring_find(r, family, rd, p, true, out, max);
}
