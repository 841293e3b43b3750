/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarding loop, one lcore each: receive, classify, bulk lookup, rewrite, transmit, report quiescent.
 *
 * Writer of a worker's state: that worker. Started and stopped by main. Gleans (packets to a neighbour that the kernel has
 * not resolved) leave by a bounded ring that the host thread drains.
 */
#pragma once

#include "dataplane/port.h"
#include "dataplane/stats.h"
#include "lpm/base.h"
#include "lpm/prefix.h"

struct arena;
struct fib_reader;
struct path_lists;
struct qsbr;

struct workers_config {
	struct arena *arena;
	const struct fib_reader *fib;
	struct qsbr *qsbr;
	unsigned count; /* as in dataplane_config */
	/* May be NULL: then only addresses on a port's own subnet are gleaned, not next hops that are not resolved. */
	const struct path_lists *path_lists;
};

/* A neighbour to resolve, of either family; a link-local one has its zone. */
struct glean {
	uint16_t port;
	struct ip_addr addr;
};

/* Launches a worker on each worker lcore; ports are shared out, port i to worker i mod count. 0, -errno. */
int workers_start(const struct workers_config *c, struct dataplane_error *err);
/* Asks them to end and waits. */
void workers_stop(void);
unsigned workers_count(void);
/* Any thread. */
const struct worker_stats *worker_stats(unsigned worker);
unsigned worker_cpu(unsigned worker);
/*
 * A packet of our own kernel's (from the TUN), to be looked up and sent without TTL decrement. Copied. 0; -ENOBUFS: dropped and counted;
 * -EINVAL: no IPv4 or IPv6 packet, or longer than WORKER_INJECT_MAX.
 */
#define WORKER_INJECT_MAX 2290 /* what a packet buffer holds behind an Ethernet header */
int worker_inject(struct vrf_id vrf, const void *packet, unsigned len) RUNS_ON(role_host);
/* The address that ICMP errors about packets received on `port` carry as their source; AFI_NONE addr: none. */
void worker_icmp_source(uint16_t port, enum afi afi, const struct ip_addr *addr) RUNS_ON(role_host);
/* Host thread: up to `max` neighbours that packets waited for since the last call; how many. */
unsigned worker_gleans(struct glean *out, unsigned max) RUNS_ON(role_host);
