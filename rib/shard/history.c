/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/history.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * 80 bytes. `stamp` is the sequence above the time in seconds; 0: the writer is at work. The writer stores
 * each word by release, after the stamp 0; the reader loads each word by acquire, before it loads the stamp
 * again. A reader with a new word thus sees a changed stamp.
 */
struct record {
	_Atomic uint64_t stamp;
	_Atomic uint64_t prefix[2];
	_Atomic uint64_t rd;
	_Atomic uint64_t what; /* vrf, length, family, event, cause, reason, moved */
	_Atomic uint64_t peers; /* of the path, before, after; policy */
	_Atomic uint64_t set, old_set; /* id, serial */
	_Atomic uint64_t since; /* since_s, node */
	_Atomic uint64_t rest; /* path_id, milliseconds */
};
static_assert(sizeof(struct record) * HISTORY_RING == HISTORY_BYTES, "bound of a ring");

#define PIECE 512u /* records */

struct history_ring {
	_Atomic uint64_t put; /* records ever written */
	_Atomic(struct record *) piece[HISTORY_RING / PIECE]; /* NULL: not written yet */
};

struct history {
	struct arena *arena;
	uint32_t sequence; /* writer: of the last record */
	_Atomic uint64_t skipped_ms; /* the last history_skip() */
	struct history_ring ring[2]; /* live, bulk */
	_Atomic uint32_t policies; /* names in use, from 1 */
	_Atomic(char *) policy[HISTORY_POLICIES]; /* immutable once set; [0] stays NULL */
};

int
history_create(struct arena *a, struct history **out)
{
	struct history *h = arena_calloc(a, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->arena = a;
	*out = h;
	return 0;
}

void
history_destroy(struct history *h)
{
	if (h == NULL)
		return;
	for (unsigned i = 0; i < 2 * HISTORY_RING / PIECE; i++)
		free(atomic_load_explicit(&h->ring[i % 2].piece[i / 2], memory_order_relaxed));
	for (unsigned i = 0; i < HISTORY_POLICIES; i++)
		arena_free(h->arena, atomic_load_explicit(&h->policy[i], memory_order_relaxed));
	arena_free(h->arena, h);
}

/* ---- the writer ---- */

/* The place of record `n`. NULL: no memory. */
static struct record *
record_place(struct history *h, struct history_ring *r, uint64_t n)
{
	_Atomic(struct record *) *at = &r->piece[n % HISTORY_RING / PIECE];
	struct record *piece = atomic_load_explicit(at, memory_order_relaxed);

	/* where memory is short, routes come first */
	if (piece == NULL && !arena_is_short()) {
		piece = calloc(PIECE, sizeof(*piece));
		/* release: pairs with the acquire in record_of() */
		atomic_store_explicit(at, piece, memory_order_release);
	}
	return piece != NULL ? &piece[n % PIECE] : NULL;
}

static void
store(_Atomic uint64_t *word, uint64_t value)
{
	/* release: pairs with the acquire in load() */
	atomic_store_explicit(word, value, memory_order_release);
}

void
history_put(struct history *h, struct vrf_id vrf, enum family family, struct vpn_rd rd,
	const struct prefix *p, bool bulk, struct history_change *c)
{
	struct history_ring *ring = &h->ring[bulk];
	uint64_t n = atomic_load_explicit(&ring->put, memory_order_relaxed), b[2];
	struct record *r = record_place(h, ring, n);

	if (r == NULL)
		return;
	h->sequence += 1 + (h->sequence == UINT32_MAX); /* never 0 */
	c->sequence = h->sequence;
	memcpy(b, p->b, sizeof(b));
	store(&r->stamp, 0);
	store(&r->prefix[0], b[0]);
	store(&r->prefix[1], b[1]);
	store(&r->rd, rd.v);
	store(&r->what, (uint64_t)vrf.v | (uint64_t)p->len << 16 | (uint64_t)family << 24 |
				(uint64_t)c->event << 32 | (uint64_t)c->cause << 40 |
				(uint64_t)c->reason << 48 | (uint64_t)c->moved << 56);
	store(&r->peers, (uint64_t)c->peer.v | (uint64_t)c->before.v << 16 |
				 (uint64_t)c->after.v << 32 | (uint64_t)c->policy << 48);
	store(&r->set, (uint64_t)c->set.v << 32 | c->serial);
	store(&r->old_set, (uint64_t)c->old_set.v << 32 | c->old_serial);
	store(&r->since, (uint64_t)c->since_s << 32 | c->node);
	store(&r->rest, (uint64_t)c->path_id << 32 | c->time_ms % 1000);
	/* release, both: pair with the acquires of record_read() and ring_find() */
	atomic_store_explicit(
		&r->stamp, c->sequence << 32 | c->time_ms / 1000, memory_order_release);
	atomic_store_explicit(&ring->put, n + 1, memory_order_release);
}

void
history_skip(struct history *h, uint64_t time_ms)
{
	store(&h->skipped_ms, time_ms);
}

uint16_t
history_policy(struct history *h, const char *name)
{
	uint32_t n = atomic_load_explicit(&h->policies, memory_order_relaxed);
	size_t size = strlen(name) + 1;
	char *copy;

	for (uint32_t i = 1; i <= n; i++)
		if (strcmp(atomic_load_explicit(&h->policy[i], memory_order_relaxed), name) == 0)
			return (uint16_t)i;
	copy = n + 1 < HISTORY_POLICIES ? arena_alloc(h->arena, size) : NULL;
	if (copy == NULL)
		return 0;
	memcpy(copy, name, size);
	/* release: pairs with the acquire in history_policy_name() */
	atomic_store_explicit(&h->policy[n + 1], copy, memory_order_release);
	atomic_store_explicit(&h->policies, n + 1, memory_order_relaxed);
	return (uint16_t)(n + 1);
}

/* ---- the reader ---- */

const char *
history_policy_name(const struct history *h, uint16_t policy)
{
	/* acquire: pairs with the release in history_policy() */
	return policy < HISTORY_POLICIES
		       ? atomic_load_explicit(&h->policy[policy], memory_order_acquire)
		       : NULL;
}

/* A record as written. */
struct words {
	uint64_t stamp, prefix[2], rd, what, peers, set, old_set, since, rest;
};

static uint64_t
load(const _Atomic uint64_t *word)
{
	/* acquire: pairs with the release in store() */
	return atomic_load_explicit(word, memory_order_acquire);
}

/* False: the writer replaces the record. */
static bool
record_read(const struct record *r, struct words *w)
{
	/* acquire: pairs with the release in history_put() */
	w->stamp = atomic_load_explicit(&r->stamp, memory_order_acquire);
	w->prefix[0] = load(&r->prefix[0]);
	w->prefix[1] = load(&r->prefix[1]);
	w->rd = load(&r->rd);
	w->what = load(&r->what);
	w->peers = load(&r->peers);
	w->set = load(&r->set);
	w->old_set = load(&r->old_set);
	w->since = load(&r->since);
	w->rest = load(&r->rest);
	return w->stamp != 0 && load(&r->stamp) == w->stamp;
}

static void
words_decode(const struct words *w, struct history_change *c)
{
	*c = (struct history_change){.sequence = w->stamp >> 32,
		.time_ms = (uint64_t)(uint32_t)w->stamp * 1000 + (uint32_t)w->rest,
		.event = (enum history_event)(w->what >> 32 & 0xff),
		.cause = (enum refused_cause)(w->what >> 40 & 0xff),
		.reason = (enum decision_reason)(w->what >> 48 & 0xff),
		.moved = (w->what >> 56) != 0,
		.peer = {(uint16_t)w->peers},
		.before = {(uint16_t)(w->peers >> 16)},
		.after = {(uint16_t)(w->peers >> 32)},
		.policy = (uint16_t)(w->peers >> 48),
		.set = {(uint32_t)(w->set >> 32)},
		.serial = (uint32_t)w->set,
		.old_set = {(uint32_t)(w->old_set >> 32)},
		.old_serial = (uint32_t)w->old_set,
		.since_s = (uint32_t)(w->since >> 32),
		.node = (uint32_t)w->since,
		.path_id = (uint32_t)(w->rest >> 32)};
}

/* Record `n`, which was written. */
static const struct record *
record_of(const struct history_ring *r, uint64_t n)
{
	/* acquire: pairs with the release in record_place() */
	return &atomic_load_explicit(
		&r->piece[n % HISTORY_RING / PIECE], memory_order_acquire)[n % PIECE];
}

/* The records of a prefix in a ring, newest first. */
static unsigned
ring_find(const struct history_ring *ring, const struct words *key, struct history_change *out,
	unsigned max, uint64_t *since_ms)
{
	/* acquire: pairs with the release in history_put() */
	uint64_t put = atomic_load_explicit(&ring->put, memory_order_acquire);
	uint64_t kept = put < HISTORY_RING ? put : HISTORY_RING;
	unsigned count = 0;

	*since_ms = put > HISTORY_RING
			    ? (load(&record_of(ring, put - kept)->stamp) & UINT32_MAX) * 1000
			    : 0;
	for (uint64_t i = 1; i <= kept && count < max; i++) {
		const struct record *r = record_of(ring, put - i);
		struct words w;

		if (load(&r->prefix[0]) == key->prefix[0] && record_read(r, &w) &&
			w.prefix[0] == key->prefix[0] && w.prefix[1] == key->prefix[1] &&
			w.rd == key->rd && (uint32_t)w.what == (uint32_t)key->what)
			words_decode(&w, &out[count++]);
	}
	return count;
}

/* True if `a` is newer. */
static bool
newer(const struct history_change *a, const struct history_change *b)
{
	return (int32_t)(uint32_t)(a->sequence - b->sequence) > 0;
}

unsigned
history_find(const struct history *h, struct vrf_id vrf, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct history_change out[HISTORY_FOUND], uint64_t since_ms[2])
{
	struct words key = {.rd = rd.v,
		.what = (uint64_t)vrf.v | (uint64_t)p->len << 16 | (uint64_t)family << 24};
	unsigned count = 0;

	memcpy(key.prefix, p->b, sizeof(key.prefix));
	for (unsigned i = 0; i < 2; i++)
		count += ring_find(&h->ring[i], &key, out + count, HISTORY_FOUND / 2, &since_ms[i]);
	if (since_ms[1] < load(&h->skipped_ms))
		since_ms[1] = load(&h->skipped_ms);
	for (unsigned i = 1; i < count; i++) {
		struct history_change c = out[i];
		unsigned at = i;

		for (; at > 0 && newer(&c, &out[at - 1]); at--)
			out[at] = out[at - 1];
		out[at] = c;
	}
	return count;
}

/* The longest prefix of a ring that is longer than `len`; else `len`. */
static int
ring_longest(
	const struct history_ring *ring, const struct words *key, const struct ip_addr *a, int len)
{
	/* acquire: pairs with the release in history_put() */
	uint64_t put = atomic_load_explicit(&ring->put, memory_order_acquire);
	uint64_t kept = put < HISTORY_RING ? put : HISTORY_RING;

	for (uint64_t i = 1; i <= kept; i++) {
		const struct record *r = record_of(ring, put - i);
		struct prefix p = {.afi = a->afi};
		struct words w;

		p.len = (uint8_t)(load(&r->what) >> 16);
		if (p.len <= len || !record_read(r, &w) || w.rd != key->rd ||
			((uint32_t)w.what ^ (uint32_t)key->what) & 0xff00ffffu)
			continue;
		p.len = (uint8_t)(w.what >> 16);
		memcpy(p.b, w.prefix, sizeof(p.b));
		if (p.len > len && prefix_contains(&p, a))
			len = p.len;
	}
	return len;
}

int
history_longest(const struct history *h, struct vrf_id vrf, enum family family, struct vpn_rd rd,
	const struct ip_addr *a)
{
	struct words key = {.rd = rd.v, .what = (uint64_t)vrf.v | (uint64_t)family << 24};
	int len = -1;

	for (unsigned i = 0; i < 2; i++)
		len = ring_longest(&h->ring[i], &key, a, len);
	return len;
}

const char *
history_event_text(enum history_event e)
{
	static const char *const text[HISTORY_EVENTS] = {
		[HISTORY_ANNOUNCED] = "announced",
		[HISTORY_REPLACED] = "replaced",
		[HISTORY_WITHDRAWN] = "withdrawn",
		[HISTORY_REFUSED] = "refused",
		[HISTORY_SESSION_LOST] = "session-lost",
		[HISTORY_STALE] = "stale",
		[HISTORY_REEVALUATED] = "reevaluated",
		[HISTORY_NEXT_HOP_UP] = "next-hop-up",
		[HISTORY_NEXT_HOP_DOWN] = "next-hop-down",
		[HISTORY_RANKED] = "ranked",
	};

	return e < HISTORY_EVENTS ? text[e] : "";
}
