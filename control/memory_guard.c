/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/memory_guard.h"

#include "control/base/log.h"
#include "control/session/session.h"
#include "lpm/arena.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_NS 50000000u
#define FLUSH_MAX_NS                                                                               \
	10000000000u /* a flush that takes longer does not keep the next peer from being ended */
#define TAKER_MIN ((size_t)1 << 20) /* a peer with less is no reason for the shortage */
#define RESERVE_RIB ((size_t)16 << 20)
#define RESERVE_SESSION ((size_t)16 << 20)
#define RESERVE_OTHER ((size_t)2 << 20)

/* Main's. */
static struct {
	struct watch watch; /* fd 0: not started */
	struct timer look;
	struct keeld *k;
	struct peer_id victim; /* .v == 0: no flush is under way */
	uint64_t since_ns; /* when the session of the victim was ended */
	size_t left; /* memory of the victim at the last look */
	uint64_t evictions;
	bool low;
} guard;

static bool
reserve_fill(struct keeld *k)
{
	bool full = arena_reserve(k->arena_rib, RESERVE_OTHER);

	full &= arena_reserve(k->arena_session, RESERVE_SESSION);
	full &= arena_reserve(k->arena_fib, RESERVE_OTHER);
	full &= arena_reserve(k->arena_control, RESERVE_OTHER);
	for (unsigned i = 0; i < k->shards.count; i++)
		full &= arena_reserve(k->arena_shard[i], RESERVE_RIB);
	guard.low = !full;
	return full;
}

/* ---- the largest taker ---- */

struct eviction {
	struct keeld *k;
	struct shard *shard; /* of keeld_on_shards() */
	struct peer_id peer;
	bool ended;
};

static void
on_rib_evict(void *arg)
{
	struct eviction *e = arg;

	role_enter_rib();
	shard_peer_evict(e->shard, e->peer);
}

static void
on_rib_spare(void *arg)
{
	struct eviction *e = arg;

	role_enter_rib();
	shard_peer_spare(e->shard, e->peer);
}

static void
on_session_end(void *arg)
{
	struct eviction *e = arg;

	role_enter_session();
	e->ended = session_out_of_resources(e->k->speaker, e->peer);
}

static size_t
largest(struct keeld *k, struct peer_id *peer)
{
	size_t most = 0;

	for (struct peer_id id = keeld_peer_next(k, (struct peer_id){0}); id.v != 0;
		id = keeld_peer_next(k, id)) {
		size_t bytes = shards_peer_memory(&k->shards, id);

		if (bytes > most) {
			most = bytes;
			*peer = id;
		}
	}
	return most;
}

/*
 * The shards come first, as they drop UPDATEs of the victim that are still in their input. The second step ends a session that comes up between
 * the two; where no session is up, the shards drop no more.
 */
static void
evict(struct keeld *k)
{
	struct eviction e = {.k = k};
	size_t bytes = largest(k, &e.peer);
	const struct config_peer *c;

	if (bytes < TAKER_MIN) {
		log_event(LOG_ERROR, "memory-short text=\"no peer takes much: memory went "
				     "elsewhere, or the limit is too low\"");
		return;
	}
	c = keeld_peer_config(k, e.peer);
	keeld_on_shards(k, on_rib_evict, &e, &e.shard);
	thread_call(k->session_thread, on_session_end, &e);
	if (!e.ended)
		keeld_on_shards(k, on_rib_spare, &e, &e.shard);
	guard.victim = e.peer;
	guard.left = SIZE_MAX;
	guard.since_ns = now_ns();
	guard.evictions++;
	log_event(LOG_ERROR,
		"memory-short peer=%s vrf=%s memory_bytes=%zu text=\"this peer takes the most: its "
		"session ends and its routes go\"",
		c != NULL ? c->addr_text : "?", c != NULL ? c->vrf_name : "?", bytes);
}

/* True: the routes of the victim are gone, and its memory is small or does not shrink any more, as peers share the rest. */
static bool
flushed(struct keeld *k)
{
	size_t before = guard.left;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct adj_rib_in_counts c;

		shards_peer_counts(&k->shards, guard.victim, (enum family)f, &c);
		if (c.received > 0)
			return false;
	}
	guard.left = shards_peer_memory(&k->shards, guard.victim);
	return guard.left < TAKER_MIN || guard.left == before;
}

/* ---- waking and looking ---- */

/* Any thread, in the middle of an allocation. */
static void
on_short(void *ctx)
{
	uint64_t one = 1;

	(void)ctx;
	(void)!write(guard.watch.fd, &one, sizeof(one));
}

static void
look_again(void)
{
	timer_arm(guard.k->main_thread, &guard.look, LOOK_NS);
}

static void
short_ready(struct watch *w, uint32_t events)
{
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	if (guard.victim.v == 0)
		evict(guard.k);
	guard.low = true;
	look_again();
}

/* Until the routes are gone and the reserve is full. A failure after the flush is the next peer's turn. */
static void
look(struct timer *t)
{
	struct keeld *k = guard.k;

	(void)t;
	if (guard.victim.v != 0 && !flushed(k) && now_ns() - guard.since_ns < FLUSH_MAX_NS) {
		look_again();
		return;
	}
	if (guard.victim.v != 0) {
		guard.victim.v = 0;
		for (unsigned i = 0; i < k->shards.count; i++)
			arena_trim(k->arena_shard[i]);
		arena_trim(k->arena_session);
	}
	if (!reserve_fill(k))
		look_again();
	if (!arena_is_short())
		return;
	arena_short_end();
	thread_wake(k->session_thread);
	for (unsigned i = 0; i < k->shards.count; i++)
		thread_wake(k->rib_thread[i]);
}

int
memory_guard_start(struct keeld *k)
{
	int rc;

	guard.k = k;
	guard.look.fire = look;
	guard.watch =
		(struct watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = short_ready};
	if (guard.watch.fd < 0)
		return -errno;
	rc = watch_set(k->main_thread, &guard.watch, EPOLLIN);
	if (rc != 0)
		return rc;
	arena_on_short(on_short, NULL);
	if (!reserve_fill(k))
		log_event(LOG_WARNING, "memory-short text=\"no room for the reserve: peers may be "
				       "ended when a large one takes the rest\"");
	return 0;
}

void
memory_guard_stop(struct keeld *k)
{
	arena_on_short(NULL, NULL);
	timer_cancel(k->main_thread, &guard.look);
}

uint64_t
memory_guard_evictions(void)
{
	return guard.evictions;
}

bool
memory_guard_low(void)
{
	return guard.low;
}
