/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/memory_guard.h"

#include "control/apply/peers.h"
#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "control/session/session.h"
#include "lpm/base/arena.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CHECK_NS 50000000u
/* After this time the guard may end the session of the next peer, even during a flush. */
#define FLUSH_MAX_NS 10000000000u
/* A peer with less memory is not the cause of a shortage. */
#define VICTIM_MIN ((size_t)1 << 20)
#define RESERVE_RIB ((size_t)16 << 20)
#define RESERVE_SESSION ((size_t)16 << 20)
#define RESERVE_OTHER ((size_t)2 << 20)

struct memory_guard {
	const struct layers *layers;
	const struct peers *peers;
	struct watch watch;
	struct timer check;
	struct peer_id victim; /* .v == 0: no flush is under way */
	uint64_t since_ns; /* when the session of the victim was ended */
	size_t left; /* memory of the victim at the last check */
	uint64_t evictions;
};

static bool
reserve_fill(struct memory_guard *g)
{
	bool full = arena_reserve(g->layers->arena_rib, RESERVE_OTHER);

	full &= arena_reserve(g->layers->arena_session, RESERVE_SESSION);
	full &= arena_reserve(g->layers->arena_fib, RESERVE_OTHER);
	full &= arena_reserve(g->layers->arena_control, RESERVE_OTHER);
	for (unsigned i = 0; i < g->layers->shards.count; i++)
		full &= arena_reserve(g->layers->arena_shard[i], RESERVE_RIB);
	return full;
}

/* ---- the peer with the most memory ---- */

struct eviction {
	struct speaker *speaker;
	struct shard *shard; /* of layers_on_shards() */
	struct peer_id peer;
	bool ended;
};

static void
on_rib_evict(void *arg) RUNS_ON(role_rib)
{
	struct eviction *e = arg;

	shard_peer_evict(e->shard, e->peer);
}

static void
on_rib_spare(void *arg) RUNS_ON(role_rib)
{
	struct eviction *e = arg;

	shard_peer_spare(e->shard, e->peer);
}

static void
on_session_end(void *arg) RUNS_ON(role_session)
{
	struct eviction *e = arg;

	e->ended = session_out_of_resources(e->speaker, e->peer);
}

static size_t
find_largest(struct memory_guard *g, struct peer_id *peer) RUNS_ON(role_main)
{
	size_t most = 0;

	for (struct peer_id id = peers_next(g->peers, (struct peer_id){0}); id.v != 0;
		id = peers_next(g->peers, id)) {
		size_t bytes = shards_peer_memory(&g->layers->shards, id);

		if (bytes > most) {
			most = bytes;
			*peer = id;
		}
	}
	return most;
}

/*
 * The shards come first: a shard drops the queued UPDATEs of the victim. The session thread then
 * ends the session, even if established in between. Without a session the shards stop dropping.
 */
static void
evict(struct memory_guard *g) RUNS_ON(role_main)
{
	struct eviction e = {.speaker = g->layers->speaker};
	size_t bytes = find_largest(g, &e.peer);
	const struct config_peer *c;

	if (bytes < VICTIM_MIN) {
		log_event(LOG_ERROR, "memory-short text=\"no peer uses much memory: check other "
				     "processes and the memory limit of keeld\"");
		return;
	}
	c = peers_config(g->peers, e.peer);
	layers_on_shards(g->layers, on_rib_evict, &e, &e.shard);
	layers_call_session(g->layers, on_session_end, &e);
	if (!e.ended)
		layers_on_shards(g->layers, on_rib_spare, &e, &e.shard);
	g->victim = e.peer;
	g->left = SIZE_MAX;
	g->since_ns = now_ns();
	g->evictions++;
	log_event(LOG_ERROR,
		"memory-short peer=%s vrf=%s memory_bytes=%zu text=\"the peer uses the most "
		"memory: "
		"session ended, routes are flushed\"",
		c != NULL ? c->addr_text : "?", c != NULL ? c->vrf_name : "?", bytes);
}

/*
 * True: the shards have flushed the routes of the victim, and the memory is small or does not
 * shrink any more (other peers share the rest).
 */
static bool
flushed(struct memory_guard *g)
{
	size_t before = g->left;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct adj_rib_in_counts c;

		shards_peer_counts(&g->layers->shards, g->victim, (enum family)f, &c);
		if (c.received > 0)
			return false;
	}
	g->left = shards_peer_memory(&g->layers->shards, g->victim);
	return g->left < VICTIM_MIN || g->left == before;
}

/* ---- wakeup and check ---- */

/* On any thread, during an allocation. */
static void
on_short(void *ctx)
{
	const struct memory_guard *g = ctx;
	uint64_t one = 1;

	(void)!write(g->watch.fd, &one, sizeof(one));
}

static void
arm_check(struct memory_guard *g)
{
	timer_arm(g->layers->main_thread, &g->check, CHECK_NS);
}

static void
short_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct memory_guard *g =
		(struct memory_guard *)(void *)((char *)w - offsetof(struct memory_guard, watch));
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	if (g->victim.v == 0)
		evict(g);
	arm_check(g);
}

/*
 * Repeats until the routes are flushed and the reserve is full. A failed allocation after the flush
 * ends the session of the next peer.
 */
static void
check(struct timer *t)
{
	struct memory_guard *g =
		(struct memory_guard *)(void *)((char *)t - offsetof(struct memory_guard, check));

	if (g->victim.v != 0 && !flushed(g) && now_ns() - g->since_ns < FLUSH_MAX_NS) {
		arm_check(g);
		return;
	}
	if (g->victim.v != 0) {
		g->victim.v = 0;
		for (unsigned i = 0; i < g->layers->shards.count; i++)
			arena_trim(g->layers->arena_shard[i]);
		arena_trim(g->layers->arena_session);
	}
	if (!reserve_fill(g))
		arm_check(g);
	if (!arena_is_short())
		return;
	arena_short_end();
	thread_wake(g->layers->session_thread);
	for (unsigned i = 0; i < g->layers->shards.count; i++)
		thread_wake(g->layers->rib_thread[i]);
}

int
memory_guard_create(const struct layers *l, const struct peers *peers, struct memory_guard **out)
{
	struct memory_guard *g = calloc(1, sizeof(*g));
	int err;

	if (g == NULL)
		return -ENOMEM;
	*g = (struct memory_guard){.layers = l,
		.peers = peers,
		.check.fire = check,
		.watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = short_ready}};
	err = g->watch.fd >= 0 ? watch_set(l->main_thread, &g->watch, EPOLLIN) : -errno;
	if (err != 0) {
		if (g->watch.fd >= 0)
			close(g->watch.fd);
		free(g);
		return err;
	}
	arena_on_short(on_short, g);
	if (!reserve_fill(g))
		log_event(LOG_WARNING, "memory-short text=\"no memory for the reserve: a shortage "
				       "may end sessions; raise the memory limit\"");
	*out = g;
	return 0;
}

void
memory_guard_destroy(struct memory_guard *g)
{
	if (g == NULL)
		return;
	arena_on_short(NULL, NULL);
	timer_cancel(g->layers->main_thread, &g->check);
	watch_set(g->layers->main_thread, &g->watch, 0);
	close(g->watch.fd);
	free(g);
}

uint64_t
memory_guard_evictions(const struct memory_guard *g)
{
	return g->evictions;
}
