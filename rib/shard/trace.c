/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/trace.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/*
 * The ring: records of 8-octet multiples, each contiguous. A record of length 0 is a gap up to the
 * end of the ring.
 */
struct record {
	uint64_t len; /* of the whole record */
	struct trace_event event;
};
static_assert(sizeof(struct record) % 8 == 0, "octets follow at a multiple of 8");

struct trace_tap {
	struct arena *arena;
	/* the writer */
	struct trace_filter filter[TRACES_MAX];
	/* octets ever put, and ever taken */
	alignas(CACHE_LINE) _Atomic uint64_t put;
	alignas(CACHE_LINE) _Atomic uint64_t taken;
	_Atomic uint64_t lost;
	alignas(8) uint8_t ring[TRACE_RING_OCTETS];
};

int
trace_tap_create(struct arena *a, struct trace_tap **out)
{
	struct trace_tap *t = arena_calloc(a, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->arena = a;
	*out = t;
	return 0;
}

void
trace_tap_destroy(struct trace_tap *t)
{
	if (t != NULL)
		arena_free(t->arena, t);
}

void
trace_tap_set(struct trace_tap *t, unsigned i, const struct trace_filter *f)
{
	t->filter[i] = f != NULL ? *f : (struct trace_filter){0};
}

unsigned
trace_of_peer(const struct trace_tap *t, struct peer_id peer)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < TRACES_MAX; i++)
		if (t->filter[i].of == TRACE_OF_PEER && t->filter[i].peer.v == peer.v)
			bits |= 1u << i;
	return bits;
}

unsigned
trace_of_prefix(
	const struct trace_tap *t, struct vrf_id vrf, enum family family, const struct prefix *p)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < TRACES_MAX; i++) {
		const struct trace_filter *f = &t->filter[i];

		if (f->of == TRACE_OF_PREFIX && f->vrf.v == vrf.v &&
			f->prefix.afi == family_afi(family) && prefix_equal(&f->prefix, p))
			bits |= 1u << i;
	}
	return bits;
}

unsigned
trace_of_policy(const struct trace_tap *t, const char *policy)
{
	unsigned bits = 0;

	for (unsigned i = 0; policy != NULL && i < TRACES_MAX; i++)
		if (t->filter[i].of == TRACE_OF_POLICY && strcmp(t->filter[i].policy, policy) == 0)
			bits |= 1u << i;
	return bits;
}

const struct trace_filter *
trace_filter_at(const struct trace_tap *t, unsigned i)
{
	return &t->filter[i];
}

void
trace_name(struct trace_event *e, const char *policy)
{
	size_t len = policy != NULL ? strnlen(policy, sizeof(e->policy) - 1) : 0;

	memcpy(e->policy, policy != NULL ? policy : "", len);
	e->policy[len] = '\0';
}

static struct record *
record_at(struct trace_tap *t, uint64_t at)
{
	return (struct record *)(void *)&t->ring[at % TRACE_RING_OCTETS];
}

/* Room for a record of `len` octets behind *put, which moves over a gap. NULL: no room. */
static struct record *
record_room(struct trace_tap *t, uint64_t *put, size_t len)
{
	/* acquire: pairs with the release in trace_drop() */
	uint64_t taken = atomic_load_explicit(&t->taken, memory_order_acquire);
	uint64_t left = TRACE_RING_OCTETS - *put % TRACE_RING_OCTETS;
	uint64_t need = len > left ? left + len : len;

	if (TRACE_RING_OCTETS - (*put - taken) < need)
		return NULL;
	if (len > left) {
		/* a gap: a length alone fits everywhere */
		record_at(t, *put)->len = 0;
		*put += left;
	}
	return record_at(t, *put);
}

void
trace_put(struct trace_tap *t, struct trace_event *e, const uint8_t *octets)
{
	uint64_t put = atomic_load_explicit(&t->put, memory_order_relaxed);
	size_t len = sizeof(struct record) + ((size_t)e->octets + 7) / 8 * 8;
	struct record *r = record_room(t, &put, len);
	struct timespec now;

	if (r == NULL) {
		atomic_store_explicit(&t->lost,
			atomic_load_explicit(&t->lost, memory_order_relaxed) + 1,
			memory_order_relaxed);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	e->time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	r->len = len;
	r->event = *e;
	if (e->octets > 0)
		memcpy(r + 1, octets, e->octets);
	/* release: pairs with the acquire in record_oldest() */
	atomic_store_explicit(&t->put, put + len, memory_order_release);
}

/* The oldest record; *at: its place. NULL: none. */
static struct record *
record_oldest(struct trace_tap *t, uint64_t *at)
{
	/* acquire: pairs with the release in trace_put() */
	uint64_t put = atomic_load_explicit(&t->put, memory_order_acquire);

	*at = atomic_load_explicit(&t->taken, memory_order_relaxed);
	if (*at == put)
		return NULL;
	if (record_at(t, *at)->len == 0)
		*at += TRACE_RING_OCTETS - *at % TRACE_RING_OCTETS;
	return record_at(t, *at);
}

bool
trace_peek(struct trace_tap *t, struct trace_event *e, const uint8_t **octets)
{
	uint64_t at;
	const struct record *r = record_oldest(t, &at);

	if (r == NULL)
		return false;
	*e = r->event;
	*octets = (const uint8_t *)(r + 1);
	return true;
}

void
trace_drop(struct trace_tap *t)
{
	uint64_t at;
	const struct record *r = record_oldest(t, &at);

	if (r != NULL)
		/* release: pairs with the acquire in record_room() */
		atomic_store_explicit(&t->taken, at + r->len, memory_order_release);
}

uint64_t
trace_lost(const struct trace_tap *t)
{
	return atomic_load_explicit(&t->lost, memory_order_relaxed);
}
