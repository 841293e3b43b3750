/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/path_ring.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <stdatomic.h>

struct path_ring {
	struct arena *arena;
	alignas(CACHE_LINE) _Atomic uint64_t put; /* entries ever put */
	alignas(CACHE_LINE) _Atomic uint64_t taken; /* entries ever taken */
	alignas(CACHE_LINE) _Atomic bool lost;
	_Atomic uint64_t peers[PEER_WORDS]; /* of lost changes */
	struct path_change at[PATH_RING_ENTRIES];
};

int
path_ring_create(struct arena *a, struct path_ring **out)
{
	struct path_ring *r = arena_calloc(a, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->arena = a;
	*out = r;
	return 0;
}

void
path_ring_destroy(struct path_ring *r)
{
	if (r != NULL)
		arena_free(r->arena, r);
}

void
path_ring_put(struct path_ring *r, const struct path_change *c)
{
	uint64_t put = atomic_load_explicit(&r->put, memory_order_relaxed);

	/* acquire: pairs with the release in path_ring_get() */
	if (put - atomic_load_explicit(&r->taken, memory_order_acquire) < PATH_RING_ENTRIES) {
		r->at[put % PATH_RING_ENTRIES] = *c;
		/* release: pairs with the acquire in path_ring_get() */
		atomic_store_explicit(&r->put, put + 1, memory_order_release);
		return;
	}
	path_ring_lose(r, c->peer);
}

void
path_ring_lose(struct path_ring *r, struct peer_id peer)
{
	atomic_fetch_or_explicit(&r->peers[peer.v / 64], 1ull << peer.v % 64, memory_order_relaxed);
	/* release: pairs with the exchange in path_ring_lost() */
	atomic_store_explicit(&r->lost, true, memory_order_release);
}

bool
path_ring_get(struct path_ring *r, struct path_change *out)
{
	uint64_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);

	/* acquire: pairs with the release in path_ring_put() */
	if (taken == atomic_load_explicit(&r->put, memory_order_acquire))
		return false;
	*out = r->at[taken % PATH_RING_ENTRIES];
	/* release: pairs with the acquire in path_ring_put() */
	atomic_store_explicit(&r->taken, taken + 1, memory_order_release);
	return true;
}

bool
path_ring_lost(struct path_ring *r, uint64_t peers[PEER_WORDS])
{
	/* relaxed: a later call sees the change */
	if (!atomic_load_explicit(&r->lost, memory_order_relaxed))
		return false;
	/* acquire: pairs with the release in path_ring_put() */
	if (!atomic_exchange_explicit(&r->lost, false, memory_order_acquire))
		return false;
	for (unsigned i = 0; i < PEER_WORDS; i++)
		peers[i] |= atomic_exchange_explicit(&r->peers[i], 0, memory_order_relaxed);
	return true;
}
