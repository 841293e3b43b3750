/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by tests and benchmarks of the data plane: seeded random numbers, a fib with routes,
 * packets.
 */
#pragma once

#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/path_list.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/rng.h"
#include "tests/lpm/text.h"
#include "tests/lpm/tick.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef LAB_GROUPS_V6
#define LAB_GROUPS_V6 4096
#endif

#define IP(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* True if this CPU can run code of KEEL_LEVEL, the x86-64 level of this build (HOT in lpm/base/base.h lists all levels). */
static inline bool
cpu_has_level(void)
{
#if defined(KEEL_LEVEL) && !defined(__clang__) /* clang 14 does not know the names */
	if (!__builtin_cpu_supports(KEEL_LEVEL)) {
		fprintf(stderr, "skipped: this CPU is no " KEEL_LEVEL "\n");
		return false;
	}
#endif
	return true;
}

static inline uint64_t
lab_random(uint64_t *state)
{
	return splitmix64(state);
}

static inline uint32_t
lab_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((lab_random(state) >> 32) * n >> 32);
}

static inline uint64_t
lab_now_ns(void)
{
	return tick_now_ns();
}

/* Sleeps until done(ctx) is true; false after the deadline. */
static inline bool
lab_wait(bool (*done)(void *ctx), void *ctx, unsigned seconds)
{
	uint64_t deadline = tick_deadline(seconds);

	while (!done(ctx)) {
		if (!tick(deadline))
			return false;
	}
	return true;
}

/* ---- fib ---- */

struct lab_fib {
	struct arena *arena;
	struct arena *shared; /* set before lab_fib_up(): for what workers read; NULL: `arena` */
	struct qsbr *qsbr;
	struct fib *fib;
	struct path_lists *lists;
};

/* The VRF of the ports and routes: the default table, or a VPN instance with compact tables. */
#ifdef KEEL_LAB_INSTANCE
#define LAB_VRF ((struct vrf_id){KEEL_LAB_INSTANCE})
#define LAB_ADD fib_instance_add
#else
#define LAB_VRF VRF_DEFAULT
#define LAB_ADD fib_vrf_add
#endif

static inline void
lab_fib_up(struct lab_fib *l)
{
	role_enter_fib();
	assert_int_equal(arena_create("lab", &l->arena), 0);
	assert_int_equal(qsbr_create(l->arena, 8, &l->qsbr), 0);
	assert_int_equal(fib_create(&(struct fib_config){.arena = l->arena,
					    .shared = l->shared,
					    .workers = l->qsbr,
					    .memory_bytes = (size_t)1 << 30,
					    .tbl8_groups = 256,
					    .groups_v6 = LAB_GROUPS_V6},
				 &l->fib),
		0);
	assert_int_equal(LAB_ADD(l->fib, LAB_VRF, AFI_IPV4), 0);
	assert_int_equal(LAB_ADD(l->fib, LAB_VRF, AFI_IPV6), 0);
	l->lists = fib_path_lists(l->fib);
}

static inline void
lab_fib_down(struct lab_fib *l)
{
	fib_destroy(l->fib);
	qsbr_destroy(l->qsbr);
	arena_destroy(l->arena);
}

/* Creates a next hop; unresolved if `mac` is NULL. */
static inline struct next_hop_id
lab_next_hop_at(
	struct lab_fib *l, const struct ip_addr *a, uint16_t port, const uint8_t *mac, uint16_t mtu)
{
	/* workers must ignore the EtherType of the adjacency */
	struct adjacency adj = {
		.ether = {[12] = 0x12, [13] = 0x34}, .ether_len = 14, .port = port, .mtu = mtu};
	struct next_hop_id id;

	role_enter_fib();
	assert_int_equal(next_hop_get(l->lists, VRF_DEFAULT, a, port, &id), 0);
	if (mac != NULL) {
		memcpy(adj.ether, mac, 6);
		port_mac(port, adj.ether + 6);
		assert_int_equal(next_hop_up(l->lists, id, &adj), 0);
	}
	return id;
}

static inline struct next_hop_id
lab_next_hop(struct lab_fib *l, uint32_t addr, uint16_t port, const uint8_t *mac, uint16_t mtu)
{
	struct ip_addr a = addr_from_v4(addr);

	return lab_next_hop_at(l, &a, port, mac, mtu);
}

/* Sets a route with these next hops; the last `backups` of them are backups. */
static inline void
lab_route_backed(struct lab_fib *l, const struct prefix *p, enum path_list_kind kind, uint16_t port,
	const struct next_hop_id *hops, unsigned count, unsigned backups)
{
	struct path path[PATHS_MAX];
	struct path_list_id list;

	role_enter_fib();
	for (unsigned i = 0; i < count; i++)
		path[i] = (struct path){.next_hop = hops[i], .label = LABEL_NONE};
	if (backups > 0)
		assert_int_equal(path_list_get_backed(l->lists, path, count, backups, 0, &list), 0);
	else
		assert_int_equal(path_list_get(l->lists, kind, port, path, count, &list), 0);
	assert_int_equal(fib_set(l->fib, LAB_VRF, p, list), 0);
	path_list_unref(l->lists, list);
}

static inline void
lab_route_to(struct lab_fib *l, const struct prefix *p, enum path_list_kind kind, uint16_t port,
	const struct next_hop_id *hops, unsigned count)
{
	lab_route_backed(l, p, kind, port, hops, count, 0);
}

static inline void
lab_route(struct lab_fib *l, uint32_t addr, uint8_t len, enum path_list_kind kind, uint16_t port,
	const struct next_hop_id *hops, unsigned count)
{
	struct prefix p = prefix_from_v4(addr, len);

	lab_route_to(l, &p, kind, port, hops, count);
}

/* Sets a route for a prefix in text form, of either family. */
static inline void
lab_route_text(struct lab_fib *l, const char *prefix, enum path_list_kind kind, uint16_t port,
	const struct next_hop_id *hops, unsigned count)
{
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	lab_route_to(l, &p, kind, port, hops, count);
}

/* A route by one next hop with a label. */
static inline void
lab_route_label(struct lab_fib *l, const char *prefix, struct next_hop_id hop, uint32_t label)
{
	struct path path = {.next_hop = hop, .label = label};
	struct path_list_id list;
	struct prefix p;

	role_enter_fib();
	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_int_equal(path_list_get(l->lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	assert_int_equal(fib_set(l->fib, LAB_VRF, &p, list), 0);
	path_list_unref(l->lists, list);
}

static inline struct ip_addr
lab_addr(const char *text)
{
	return addr(text);
}

static inline void
lab_commit(struct lab_fib *l)
{
	int rc;

	role_enter_fib();
	while ((rc = fib_commit(l->fib, lab_now_ns())) == -EAGAIN)
		sched_yield();
	assert_int_equal(rc, 0);
}

/* ---- EAL ---- */

/* Starts EAL: the workers on the last allowed CPUs, from the last on; control threads on the first. */
static inline void
lab_eal_up_workers(const char *run_dir, unsigned memory_mb, unsigned workers)
{
	static unsigned control[1], worker[CPU_SETSIZE];
	unsigned count = 0;
	cpu_set_t cpus;
	struct dataplane_error err = {""};
	char name[32];
	bool huge;
	int rc;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (unsigned cpu = CPU_SETSIZE; cpu-- > 0;)
		control[0] = CPU_ISSET(cpu, &cpus) ? cpu : control[0];
	for (unsigned cpu = CPU_SETSIZE; cpu-- > 0 && count < workers;)
		if (CPU_ISSET(cpu, &cpus))
			worker[count++] = cpu;
	assert_int_equal(count, workers);
	snprintf(name, sizeof(name), "keel-test-%d", (int)getpid());
	rc = dataplane_init(&(struct dataplane_config){.worker_cpus = worker,
				    .worker_count = workers,
				    .control_cpus = control,
				    .control_count = 1,
				    .memory_mb = memory_mb,
				    .run_dir = run_dir,
				    .name = name},
		&huge, &err);
	if (rc != 0)
		fail_msg("dataplane_init: %d %s", rc, err.text);
}

static inline void
lab_eal_up(const char *run_dir, unsigned memory_mb)
{
	lab_eal_up_workers(run_dir, memory_mb, 1);
}

static inline uint16_t
lab_port(const char *name, const char *device)
{
	struct dataplane_error err = {""};
	uint16_t port = 0;
	int rc = port_add(
		&(struct port_config){.name = name, .device = device, .vrf = LAB_VRF, .mtu = 1500},
		&port, &err);

	if (rc != 0)
		fail_msg("port_add %s: %d %s", name, rc, err.text);
	return port;
}

#ifndef LAB_SOURCE_ROUTES
#define LAB_SOURCE_ROUTES 0
#endif
#ifndef LAB_IDLE /* workers without packets sleep */
#define LAB_IDLE 0
#endif

static inline void
lab_workers_up_count(struct lab_fib *l, unsigned count)
{
	struct dataplane_error err = {""};
	int rc = workers_start(&(struct workers_config){.arena = l->arena,
				       .fib = fib_reader(l->fib),
				       .qsbr = l->qsbr,
				       .count = count,
				       .path_lists = l->lists,
				       .idle_adaptive = LAB_IDLE,
				       .forward_source_routes = LAB_SOURCE_ROUTES},
		&err);

	if (rc != 0)
		fail_msg("workers_start: %d %s", rc, err.text);
}

static inline void
lab_workers_up(struct lab_fib *l)
{
	lab_workers_up_count(l, 1);
}

static inline uint64_t
lab_drops(enum drop_reason r)
{
	return atomic_load_explicit(&worker_stats(0)->drops[r], memory_order_relaxed);
}

/* lab_drops() with packets waiting for a neighbour: these labs have no neighbours. */
static inline uint64_t
lab_lost(enum drop_reason r)
{
	uint64_t n = lab_drops(r);

	if (r == DROP_unresolved)
		n += lab_drops(DROP_neighbor_queue) +
		     atomic_load_explicit(&worker_stats(0)->waiting, memory_order_relaxed);
	return r == DROP_neighbor_queue ? 0 : n;
}

/* Number of packets the worker has finished with, or keeps for neighbours. */
static inline uint64_t
lab_seen(void)
{
	uint64_t n = atomic_load_explicit(&worker_stats(0)->forwarded, memory_order_relaxed);

	for (unsigned i = 0; i < DROP_COUNT; i++)
		if (i != DROP_icmp_limited) /* these packets have a reason of their own */
			n += lab_lost((enum drop_reason)i);
	return n;
}

/* ---- packets ---- */

/* Header checksum as defined in RFC 791, 16 bits at a time; differs from the worker's algorithm. */
static inline uint16_t
lab_checksum(const uint8_t *header, unsigned len)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < len; i += 2)
		if (i != 10)
			sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

struct lab_frame {
	unsigned len;
	uint8_t b[1600];
};

static inline void
lab_set32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static inline void
lab_fix_checksum(struct lab_frame *f)
{
	uint16_t sum = lab_checksum(f->b + 14, (f->b[14] & 15u) * 4);

	f->b[24] = (uint8_t)(sum >> 8);
	f->b[25] = (uint8_t)sum;
}

/* Makes a UDP packet over IPv4, with `options` words of no-operation and a seeded payload. */
static inline void
lab_udp(struct lab_frame *f, const uint8_t to[6], uint32_t src, uint32_t dst, uint8_t ttl,
	unsigned options, unsigned payload, uint64_t *seed)
{
	unsigned header = 20 + 4 * options, total = header + 8 + payload;

	memset(f, 0, sizeof(*f));
	f->len = 14 + total;
	memcpy(f->b, to, 6);
	memcpy(f->b + 6, "\x02\x00\x00\x00\x00\x99", 6);
	f->b[12] = 0x08;
	f->b[14] = (uint8_t)(0x40 | header / 4);
	f->b[16] = (uint8_t)(total >> 8);
	f->b[17] = (uint8_t)total;
	f->b[18] = (uint8_t)lab_random(seed);
	f->b[19] = (uint8_t)lab_random(seed);
	f->b[22] = ttl;
	f->b[23] = 17;
	lab_set32(f->b + 26, src);
	lab_set32(f->b + 30, dst);
	memset(f->b + 34, 1, 4 * (size_t)options);
	for (unsigned i = 14 + header; i < f->len; i++)
		f->b[i] = (uint8_t)lab_random(seed);
	lab_fix_checksum(f);
}

/* Makes a UDP packet over IPv6, with a seeded flow label and payload. */
static inline void
lab_udp6(struct lab_frame *f, const uint8_t to[6], const uint8_t src[16], const uint8_t dst[16],
	uint8_t hop_limit, unsigned payload, uint64_t *seed)
{
	unsigned total = 8 + payload;

	memset(f, 0, sizeof(*f));
	f->len = 14 + 40 + total;
	memcpy(f->b, to, 6);
	memcpy(f->b + 6, "\x02\x00\x00\x00\x00\x99", 6);
	f->b[12] = 0x86;
	f->b[13] = 0xdd;
	lab_set32(f->b + 14, 0x60000000 | lab_below(seed, 1u << 28));
	f->b[18] = (uint8_t)(total >> 8);
	f->b[19] = (uint8_t)total;
	f->b[20] = 17;
	f->b[21] = hop_limit;
	memcpy(f->b + 22, src, 16);
	memcpy(f->b + 38, dst, 16);
	for (unsigned i = 54; i < f->len; i++)
		f->b[i] = (uint8_t)lab_random(seed);
}
