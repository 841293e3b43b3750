/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layers below control/ and their threads, as pointers, for modules that send requests to several threads.
 *
 * Writer: control/wiring.c, before the start and after the end of the threads. In between any thread may read the struct. The header of each
 * object says which thread may call which function.
 */
#pragma once

#include "control/base/threads.h"
#include "lpm/fib.h"
#include "rib/shard/shards.h"

struct arena;
struct fib;
struct fib_feed;
struct journal;
struct netlink;
struct nexthop_table;
struct netlink_room;
struct qsbr;
struct speaker;

struct layers {
	struct arena *arena_shard[SHARDS_MAX]; /* one for each shard: shards share no lock */
	struct arena *arena_rib, *arena_fib, *arena_session, *arena_control;
	struct arena *arena_tables; /* shared with keelfwd; NULL without keelfwd */
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
	struct netlink_room *neighbor_room; /* of all mirrors; any thread reads its counters */
	/* of the instances with a network namespace; the host thread alone reads and writes */
	struct netlink *vrf_netlink[FIB_VRF_MAX];
	unsigned tun_ifindex; /* of keel0; 0: none */
	struct thread *main_thread, *host_thread, *session_thread, *fib_thread, *rpki_thread,
		*bmp_thread;
	struct thread *rib_thread[SHARDS_MAX];
};

/*
 * Requests to the threads. `fn` is the name of a function `void fn(void *arg)`; clang checks that fn
 * runs on the role of the receiver (FUNCTION_ON in lpm/base/base.h).
 *
 * Main: layers_call_*() runs fn(arg) on the thread and waits. 0, -errno.
 */
#define layers_call_session(l, fn, arg)                                                            \
	thread_call((l)->session_thread, FUNCTION_ON(session, fn), arg)
#define layers_call_fib(l, fn, arg) thread_call((l)->fib_thread, FUNCTION_ON(fib, fn), arg)
#define layers_call_host(l, fn, arg) thread_call((l)->host_thread, FUNCTION_ON(host, fn), arg)
#define layers_call_rpki(l, fn, arg) thread_call((l)->rpki_thread, FUNCTION_ON(rpki, fn), arg)
#define layers_call_bmp(l, fn, arg) thread_call((l)->bmp_thread, FUNCTION_ON(bmp, fn), arg)
/* Any thread: layers_send_*() runs fn(arg) on the thread later; see thread_send() about `mail`. */
#define layers_send_main(l, mail, fn, arg)                                                         \
	thread_send((l)->main_thread, mail, FUNCTION_ON(main, fn), arg)
#define layers_send_fib(l, mail, fn, arg)                                                          \
	thread_send((l)->fib_thread, mail, FUNCTION_ON(fib, fn), arg)
#define layers_send_session(l, mail, fn, arg)                                                      \
	thread_send((l)->session_thread, mail, FUNCTION_ON(session, fn), arg)
#define layers_send_host(l, mail, fn, arg)                                                         \
	thread_send((l)->host_thread, mail, FUNCTION_ON(host, fn), arg)
#define layers_send_bmp(l, mail, fn, arg)                                                          \
	thread_send((l)->bmp_thread, mail, FUNCTION_ON(bmp, fn), arg)
#define layers_send_rib(l, shard, mail, fn, arg)                                                   \
	thread_send((l)->rib_thread[shard], mail, FUNCTION_ON(rib, fn), arg)

/* Main: runs fn(arg) on the thread of each shard in turn. *shard is the shard of the thread during the call. */
#define layers_on_shards(l, fn, arg, shard) layers_on_each(l, FUNCTION_ON(rib, fn), arg, shard)

/* A call to all shards at once, with the answer of each. */
struct shard_call {
	struct shard *shard; /* of the thread */
	unsigned index;
	void *arg;
	int result;
};
/* Main: runs fn(copy of *call) on the threads of all shards at once and waits. call->result: a result that is not 0, or unchanged. */
#define layers_call_shards(l, fn, call) layers_call_each(l, FUNCTION_ON(rib, fn), call)

/* Main: as layers_call_host(), while the fib thread stands still. */
#define layers_call_host_alone(l, fn, arg) layers_call_alone(l, FUNCTION_ON(host, fn), arg)

/* For the macros above: functions without a check of the role of `fn`. */
void layers_on_each(const struct layers *l, void (*fn)(void *arg), void *arg, struct shard **shard)
	RUNS_ON(role_main);
void layers_call_each(const struct layers *l, void (*fn)(void *arg), struct shard_call *call)
	RUNS_ON(role_main);
int layers_call_alone(const struct layers *l, void (*fn)(void *arg), void *arg) RUNS_ON(role_main);

/* Main: a read section of the RIB (rib/table/dest.h) or of the forwarding tables (fib_lookup()). At most 1 ms between begin and end. */
void layers_rib_read_begin(const struct layers *l) RUNS_ON(role_main);
void layers_rib_read_end(const struct layers *l) RUNS_ON(role_main);
void layers_fib_read_begin(const struct layers *l) RUNS_ON(role_main);
void layers_fib_read_end(const struct layers *l) RUNS_ON(role_main);

/* Bytes of memory of the RIB. */
size_t layers_rib_bytes(const struct layers *l);
