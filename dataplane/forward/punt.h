/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's part of the host path: selects, polices and queues packets for the kernel, a ring
 * for each class. The host thread writes the packets to the TAP of the port (host_path.h) and
 * returns the buffers, because only the worker may free a buffer without waiting.
 *
 * Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/bucket.h"
#include "dataplane/forward/burst.h"
#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"

struct fib_generation;
struct fib_reader;
struct host_peers;
struct ring;

/* Packets of a class that wait for the host thread; of peers more, so that a late turn costs no TCP segments. */
#define PUNT_RING 512
#define PUNT_RING_PEERS 2048
#define PUNT_BACK_RING 4096
#define PUNT_TUN 0x8000u /* in rte_mbuf.port: for the TUN of the VRF in the other bits */
static_assert(PUNT_BACK_RING >= PUNT_RING_PEERS + (HOST_CLASSES - 1) * PUNT_RING, "takes all");

/* Part of struct worker. Writer: the worker, unless a member says otherwise. */
struct punt {
	struct ring *up[HOST_CLASSES]; /* to the host thread */
	struct ring *back; /* from the host thread: buffers to free */
	const struct host_peers *peers;
	unsigned lent; /* buffers in the rings */
	struct rte_mbuf *owed; /* host thread: written, and `back` was full */
	struct bucket bucket[PORTS_MAX][HOST_CLASSES];
	/* dropped by the bucket; dropped because the ring was full */
	alignas(CACHE_LINE) _Atomic uint64_t policed[PORTS_MAX][HOST_CLASSES];
	_Atomic uint64_t full[PORTS_MAX][HOST_CLASSES];
};

/* Where the packets of a burst came from. */
struct punt_source {
	uint16_t port;
	struct vrf_id vrf;
	enum host_way way;
};

/* The class of a frame of at least ETHER_LEN bytes. For tests, which compare the XDP program. */
enum host_class punt_class(const struct host_peers *peers, struct vrf_id vrf, const uint8_t *frame,
	unsigned len) RUNS_ON(role_worker);
/*
 * Empties to_host[] of a burst. A packet for this router goes to a ring, or is dropped as
 * DROP_host_policed or DROP_host_full; other packets are dropped for the reason of the packet. With
 * HOST_WAY_COPY the kernel has the packet already, and the buffer is freed. Within a read of `fib`.
 */
void punt_burst(struct punt *p, struct burst *b, const struct punt_source *s,
	const struct fib_reader *fib, const struct fib_generation *generation, uint64_t now)
	RUNS_ON(role_worker);
/*
 * The same for packets that labels have brought, each of the VRF in rte_mbuf.port: they go to the TUN
 * of the VRF, policed as packets of the receiving port.
 */
void punt_labelled(struct punt *p, struct burst *b, uint16_t port, const struct fib_reader *fib,
	const struct fib_generation *generation, uint64_t now) RUNS_ON(role_worker);
/*
 * Queues a packet with an Ethernet header for the TUN of a VRF, as a packet of the class HOST_ICMP.
 * False: the ring is full, and the caller keeps the packet.
 */
bool punt_to_tun(struct punt *p, struct rte_mbuf *m, struct vrf_id vrf) RUNS_ON(role_worker);
/* Frees buffers that the host thread has returned, at most a burst. */
void punt_reclaim(struct punt *p) RUNS_ON(role_worker);
