/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours under resolution: requests to the host thread, and packets waiting for the answer (RFC 1122
 * 2.3.2.2, RFC 4861 7.2.2). A packet waits unchanged and is looked up again after the answer, so the
 * packet leaves by the route and with the labels of the later time.
 *
 * The neighbours are in a cache; a new neighbour replaces the neighbour with the oldest request. The
 * number of packets is bounded for each neighbour and for the worker; at the bound the oldest packet is
 * dropped.
 *
 * Part of struct worker. Writer: the worker; the host thread drains the ring. Data-path safe: no
 * allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/bucket.h"
#include "dataplane/forward/burst.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

struct fib_generation;
struct fib_reader;
struct ring;

#define RESOLVE_SETS 128
#define RESOLVE_WAYS 4
#define RESOLVE_PLACES (RESOLVE_SETS * RESOLVE_WAYS)
/*
 * Packets of a worker, each in a packet buffer. A scan of 350 addresses a second needs 1.5 s to replace
 * all packets; the kernel repeats a lost request after a second.
 */
#define RESOLVE_PACKETS 512
#define RESOLVE_SHARE 8 /* all workers together keep at most this part of the packet buffers */
#define RESOLVE_EACH 64 /* of a neighbour; Linux keeps about 90 packets of full size */
#define GLEAN_RING 1024
#define GLEAN_PLACES (2 * GLEAN_RING)

struct resolve_place {
	struct ip_addr addr; /* of a destination on a subnet; a next hop has only a number */
	uint32_t next_hop;
	uint16_t port;
	uint16_t first, last, count; /* waiting packets, in order */
	uint64_t tsc; /* last request; 0: never used */
	uint64_t since; /* first request */
};

/* A waiting packet. */
struct resolve_packet {
	struct rte_mbuf *pkt;
	uint32_t list; /* path list that was found */
	uint16_t place;
	uint16_t same; /* the next one of the neighbour */
	uint16_t next, before; /* of all */
	uint16_t port; /* receiving port */
	uint16_t vrf;
	uint8_t afi;
	bool own; /* of this router */
	bool failed; /* the neighbour did not answer */
};

struct resolve {
	unsigned count; /* waiting packets */
	unsigned most; /* at most RESOLVE_PACKETS */
	unsigned forced; /* number of the first packets, to be looked up again in any case */
	uint16_t first, last, free;
	uint64_t generation; /* number of the generation at the last look at all packets */
	uint64_t next_look; /* TSC */
	uint64_t look, repeat, give_up, forget; /* in TSC cycles */
	struct bucket bucket;
	struct ring *gleans; /* pointers into glean[] */
	unsigned glean_next;
	struct resolve_packet packet[RESOLVE_PACKETS];
	struct resolve_place place[RESOLVE_PLACES];
	struct glean glean[GLEAN_PLACES];
};

/* All memory is zeroed. Main; so is resolve_fini(), after the end of the worker. */
void resolve_init(struct resolve *r, uint64_t hz, uint64_t now);
void resolve_fini(struct resolve *r);

enum resolve_fate {
	RESOLVE_WAITS,
	RESOLVE_NO, /* no request is allowed: drop the packet */
	RESOLVE_FAILED, /* RFC 1812 3.3.2: requests remained without an answer, an error is due */
};

/*
 * Requests the neighbour of a packet of the burst, and keeps the packet. `vrf`: of the packet. Without
 * `lists` (NULL) only keeld requests next hops. Drops and counts a replaced packet.
 */
enum resolve_fate resolve_add(struct resolve *r, const struct burst *b, const struct waiting *x,
	uint16_t vrf, const struct path_lists *lists, uint64_t now) RUNS_ON(role_worker);
/*
 * Removes, in the order of arrival, at most `max` packets to look up again, and packets of neighbours
 * without an answer (`failed`). Repeats requests of the others; `lists` as in resolve_add(). Within a
 * read of `fib`.
 */
unsigned resolve_take(struct resolve *r, const struct fib_reader *fib,
	const struct fib_generation *g, const struct path_lists *lists, uint64_t now,
	struct resolve_packet *out, unsigned max) RUNS_ON(role_worker);
/* After a change of tables: next hops have new numbers. */
void resolve_forget_tables(struct resolve *r) RUNS_ON(role_worker);
