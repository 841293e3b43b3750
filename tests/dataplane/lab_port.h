/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab port: a source and a checking sink in memory, polled by the worker's own loop, so that what is measured is the worker and not
 * a generator on another CPU. A source hands out numbered frames of 64 bytes to drawn destinations; the sink looks at each frame that
 * leaves: by a port that its class of destinations allows, none before its turn, and one of 64 in full (TTL, checksum, addresses, length).
 *
 * DPDK's headers for drivers are in no package of Debian's. So a lab port is a `net_null` device of the name net_null_labN whose receive
 * and transmit function are taken over when it appears.
 *
 * In one's own process: lab_port_enable() after dataplane_init(), then port_add() of "net_null_lab0,no-rx=1".
 *
 * In keeld:
 *   lab_ports --create FILE --routes ROUTES [--v4 N] [--v6 N]    ROUTES: lines "PREFIX CLASS", CLASS 0 to 255; draws N
 *                                                                destinations a family, each of the class of its longest prefix
 *   KEELLAB=FILE keeld -c …   with "eal_args": ["-d", "…/build/tests/bench/librte_net_keellab.so"] (not below a folder that all may write)
 *                             and "ports": [{"name": "east", "device": "net_null_lab0,no-rx=1", …}]
 *   lab_ports --control FILE  commands on standard input, each answered by a line of JSON: see tests/bench/lab_ports.c
 * A port without a kernel interface of its own stands beside the one of its name, if there is one: a veth `east` made before keeld
 * starts carries its addresses, neighbours and BGP sessions, while what the worker forwards goes through the lab port.
 * Lab ports are counted in the order in which keeld adds them, whatever N is.
 *
 * One worker only: a sink's state has one writer.
 */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_PORTS 8
#define LAB_CLASSES 256
#define LAB_MAGIC UINT64_C(0x31304c4545504b) /* changes with this header */
#define LAB_FRAME 64u
#define LAB_TTL 64

struct lab_flow_v4 {
	uint32_t dst; /* as on the wire */
	uint8_t class;
	uint8_t unused[3];
};

struct lab_flow_v6 {
	uint8_t dst[16];
	uint32_t label; /* first word of the header, as on the wire */
	uint8_t class;
	uint8_t unused[3];
};

/* Written by the worker, but for the first line. Reading: relaxed. */
struct lab_side {
	/* The frames' destination address; zeros: what the driver says. Before the first frame. */
	alignas(64) _Atomic uint64_t mac;
	_Atomic uint64_t limit; /* frames that may leave the source in all; 0: none */
	alignas(64) _Atomic uint64_t sent; /* by the source of this port */
	_Atomic uint64_t starved; /* polls that found no buffers */
	alignas(64) _Atomic uint64_t seen; /* frames of ours that left by this port */
	_Atomic uint64_t misdirected; /* their class does not allow this port */
	_Atomic uint64_t
		reordered; /* behind one of the same source and family that was sent later */
	_Atomic uint64_t damaged; /* of those looked at in full */
	_Atomic uint64_t checked; /* looked at in full */
	_Atomic uint64_t foreign; /* not of ours */
	/* Of the last one that was misdirected. */
	_Atomic uint64_t bad_number, bad_class;
};

/* A file mapped by the process with the ports and by who controls it. */
struct lab_shared {
	uint64_t magic, bytes;
	uint64_t v4_offset, v4_count, v6_offset, v6_count;
	uint64_t v6_pattern; /* bit n: each 64th frame from the n-th on is IPv6 */
	uint32_t ttl_taken; /* by who forwards: 1, or 0 for a loop that does not */
	_Atomic uint32_t run;
	_Atomic uint32_t taken; /* lab ports there are */
	/* By class: bit per lab port by which its frames may leave. During a change: what both generations allow. */
	alignas(64) _Atomic uint32_t allowed[LAB_CLASSES];
	struct lab_side side[LAB_PORTS];
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
 * All memory of a lab, in `file`, or (NULL) of this process alone. No frames run, all classes allow all ports, sources have no limit,
 * every frame is IPv4 unless there is none. NULL with errno.
 */
struct lab_shared *lab_shared_create(const char *file, uint64_t v4_count, uint64_t v6_count);
/* What somebody created. NULL with errno (EPROTO: of another version). */
struct lab_shared *lab_shared_open(const char *file);
void lab_shared_close(struct lab_shared *s);

/* Devices net_null_lab* that are added from now on are lab ports of `s`. After EAL is up. 0, -errno. */
int lab_port_enable(struct lab_shared *s);

static inline uint64_t
lab_count(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}
