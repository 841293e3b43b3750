/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layers below control/ and their threads, as pointers, for modules that send requests to several threads.
 *
 * Writer: control/wiring.c, before the start and after the end of the threads. In between any thread may read the struct. The header of each
 * object says which thread may call which function.
 */
#pragma once

#include "control/base/threads.h"
#include "rib/shards.h"

struct arena;
struct fib;
struct fib_feed;
struct journal;
struct netlink;
struct nexthop_table;
struct qsbr;
struct speaker;

struct layers {
	struct arena *arena_shard[SHARDS_MAX]; /* one for each shard: shards share no lock */
	struct arena *arena_rib, *arena_fib, *arena_session, *arena_control;
	struct qsbr *readers; /* of the RIB */
	struct qsbr *workers; /* of the forwarding tables: workers and fib_lookup() */
	unsigned main_reader, main_fib_reader; /* of main; offline outside of read sections */
	struct shards shards; /* .count 0: not created yet */
	struct journal *journal; /* of the shards */
	struct nexthop_table *nexthops;
	struct fib *fib; /* NULL without a data plane */
	struct fib_feed *feed;
	struct speaker *speaker;
	struct netlink *netlink;
	unsigned tun_ifindex; /* of keel0; 0: none */
	struct thread *main_thread, *host_thread, *session_thread, *fib_thread;
	struct thread *rib_thread[SHARDS_MAX];
};

/* Main: runs fn(arg) on the thread of each shard in turn. *shard is the shard of the thread during the call. */
void layers_on_shards(
	const struct layers *l, void (*fn)(void *arg), void *arg, struct shard **shard);

/* A call to all shards at once, with the answer of each. */
struct shard_call {
	struct shard *shard; /* of the thread */
	unsigned index;
	void *arg;
	int result;
};
/* Main: runs fn(copy of *call) on the threads of all shards at once and waits. call->result: a result that is not 0, or unchanged. */
void layers_call_shards(const struct layers *l, void (*fn)(void *arg), struct shard_call *call);

/* Main: a read section of the RIB (rib/dest.h) or of the forwarding tables (fib_lookup()). At most 1 ms between begin and end. */
void layers_rib_read_begin(const struct layers *l);
void layers_rib_read_end(const struct layers *l);
void layers_fib_read_begin(const struct layers *l);
void layers_fib_read_end(const struct layers *l);

/* Bytes of memory of the RIB. */
size_t layers_rib_bytes(const struct layers *l);
