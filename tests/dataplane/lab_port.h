/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab port: a source and a checking sink in memory, polled by the worker's own loop, so a
 * benchmark measures the worker and not a generator on another CPU. The source emits numbered
 * 64-byte frames to drawn destinations. The sink checks the port of each outgoing frame (by the
 * class of its destination) and the order of frames, and one frame in 64 completely (TTL,
 * checksum, addresses, length).
 *
 * No Debian package contains DPDK's headers for drivers. A lab port is therefore a `net_null`
 * device named net_null_labN, whose receive and transmit functions are replaced when the device
 * appears.
 *
 * In a test process: lab_port_enable() after dataplane_init(), then port_add() of
 * "net_null_lab0,no-rx=1".
 *
 * In keeld:
 *   lab_ports --create FILE --routes ROUTES [--v4 N] [--v6 N]    ROUTES: lines "PREFIX CLASS", CLASS 0 to 255; draws N
 *                                                                destinations a family, with the class of the longest prefix
 *   KEELLAB=FILE keeld -c …   with "eal_args": ["-d", "…/build/tests/bench/librte_net_keellab.so"] (not in a folder writable by all)
 *                             and "ports": [{"name": "east", "device": "net_null_lab0,no-rx=1", …}]
 *   lab_ports --control FILE  commands on standard input, each answered by a line of JSON: see tests/bench/lab_ports.c
 *
 * A port without a kernel interface uses the interface of its name, if there is one: a veth
 * `east`, created before keeld starts, carries the port's addresses, neighbours and BGP sessions,
 * while forwarded packets go through the lab port. Lab ports are numbered in the order in which
 * keeld adds the ports, regardless of N.
 *
 * A port has up to LAB_QUEUES queues, each with a source and a sink of its own. The state of a sink has a single writer: a queue
 * belongs to one worker, or workers use the queue in turn.
 */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_PORTS 8
#define LAB_QUEUES 2 /* of a port */
#define LAB_CLASSES 256
#define LAB_MAGIC UINT64_C(0x34304c4545504b) /* changes with this header */
#define LAB_FRAME 64u
#define LAB_TTL 64
#define LAB_LABEL_FIRST 100000u

struct lab_flow_v4 {
	uint32_t dst; /* in wire order */
	uint8_t class;
	uint8_t unused[3];
};

struct lab_flow_v6 {
	uint8_t dst[16];
	uint32_t label; /* first word of the header, in wire order */
	uint8_t class;
	uint8_t unused[3];
};

/* Written by the worker, except the first line. Read relaxed. */
struct lab_side {
	/*
	 * Destination address of the frames; zeros: the address of the driver. Set before the
	 * first frame.
	 */
	alignas(64) _Atomic uint64_t mac;
	_Atomic uint64_t limit; /* number of frames the source may send; 0: no limit */
	/*
	 * IPv4 frames get a label from LAB_LABEL_FIRST on, one of this number at random; 0: no
	 * labels. Set before the first frame.
	 */
	_Atomic uint64_t labels;
	alignas(64) _Atomic uint64_t sent; /* by the source of this port */
	_Atomic uint64_t starved; /* polls without free buffers */
	alignas(64) _Atomic uint64_t seen; /* lab frames sent on this port */
	_Atomic uint64_t misdirected; /* frames of a class not allowed on this port */
	/* frames after a later frame of equal source and family */
	_Atomic uint64_t reordered;
	_Atomic uint64_t damaged; /* failures among completely checked frames */
	_Atomic uint64_t checked; /* completely checked frames */
	_Atomic uint64_t foreign; /* other frames */
	/* The last misdirected frame. */
	_Atomic uint64_t bad_number, bad_class;
};

/* File mapped by the process with the ports and by the controlling process. */
struct lab_shared {
	uint64_t magic, bytes;
	uint64_t v4_offset, v4_count, v6_offset, v6_count;
	uint64_t v6_pattern; /* bit n: of 64 frames, frame n is IPv6 */
	/*
	 * Bit n: of 64 frames, frame n is a copy of `flood`, with the address of the port as its
	 * destination unless `flood` is a broadcast. Changed only while `run` is 0.
	 */
	uint64_t flood_pattern;
	uint8_t flood[LAB_FRAME];
	/* reduction of the TTL by the router: 1, or 0 for a loop without TTL handling */
	uint32_t ttl_taken;
	_Atomic uint32_t run;
	_Atomic uint32_t taken; /* number of lab ports in use */
	/*
	 * By class: bit mask of the allowed ports. During a change: the ports of both generations.
	 */
	alignas(64) _Atomic uint32_t allowed[LAB_CLASSES];
	struct lab_side side[LAB_QUEUES * LAB_PORTS]; /* of queue q: side[q * LAB_PORTS + port] */
};

static inline const struct lab_flow_v4 *
lab_flows_v4(const struct lab_shared *s)
{
	return (const void *)((const char *)s + s->v4_offset);
}

static inline const struct lab_flow_v6 *
lab_flows_v6(const struct lab_shared *s)
{
	return (const void *)((const char *)s + s->v6_offset);
}

/*
 * Creates the memory of a lab in `file`, or (NULL) private to this process. At first no frames are
 * sent, all classes may use all ports, sources have no limit, and frames are IPv4 if any IPv4
 * flows exist. Returns NULL with errno.
 */
struct lab_shared *lab_shared_create(const char *file, uint64_t v4_count, uint64_t v6_count);
/*
 * Opens a lab created by lab_shared_create(). Returns NULL with errno (EPROTO: different version).
 */
struct lab_shared *lab_shared_open(const char *file);
void lab_shared_close(struct lab_shared *s);

/*
 * Makes lab ports of all devices net_null_lab* added from now on. Call after EAL has started.
 * Returns 0 or -errno.
 */
int lab_port_enable(struct lab_shared *s);

static inline uint64_t
lab_count(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}
