/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding of labelled packets: RFC 3031 3.10 to 3.18, the label stack of RFC 3032, explicit null
 * above other labels (RFC 4182), TTL in the uniform and the pipe model (RFC 3443). A label pops to
 * a VPN instance, pops to a next hop, or is swapped (lpm/label_table.h). Penultimate hops send no
 * label for implicit null (label 3), which is therefore never on the wire.
 *
 * RFC 3032 2.3, not done: ICMP errors about packets that are switched by label. Packets popped to an
 * instance cause the ICMP errors of IP forwarding, which are routed in the instance.
 *
 * Runs on workers. Data-path safe: no allocation, log, lock or system call.
 */
#pragma once

#include "dataplane/forward/burst.h"
#include "lpm/base/base.h"
#include "lpm/fib_read.h"

#define MPLS_ENTRY 4 /* bytes of a label stack entry */
#define MPLS_NULLS_MAX 4 /* explicit nulls above another label; further ones are dropped */

/* The place where a burst was received. */
struct mpls_from {
	struct vrf_id vrf; /* of the port: explicit null pops to this VRF */
	bool allowed; /* the port has `mpls` */
};

/*
 * Forwards the MPLS lane of `b`. Packets popped to an instance go to the lanes of `inner`, an empty
 * burst with `each`; switched packets to `out`; the rest to dropped[] or waiting[] of `inner`.
 */
void mpls_finish(const struct burst *b, struct burst *inner, const struct mpls_from *from,
	const struct fib_reader *fib, const struct fib_generation *generation, struct outbox *out)
	RUNS_ON(role_worker);

/* Labels to push: those of the adjacency above `label`; LABEL_NONE: no further label. */
struct mpls_push {
	const struct adjacency *adjacency;
	uint32_t label;
	uint8_t ttl; /* of the labels in the uniform model */
	/*
	 * RFC 3270 2.6: labels and outer headers get the class of the packet, whose own header stays
	 * as it is also when the labels are removed (the pipe model of RFC 2983).
	 */
	uint8_t dscp;
};
/*
 * Number of labels to push. A UDP tunnel has at least one: an explicit null, unless the packet is
 * labelled (RFC 7510 3).
 */
static inline unsigned
mpls_push_count(const struct adjacency *a, uint32_t label, bool labelled)
{
	unsigned n = a->label_count + (label != LABEL_NONE);

	return n == 0 && !labelled && a->udp_destination != 0 ? 1 : n;
}
/*
 * Sends the packet that begins at `at`, an IP header or a label, inside the buffer: pushes the
 * labels, writes the header of a UDP tunnel and the Ethernet header, and adds the packet to `out`. `type` is the EtherType without
 * labels. Without room in the buffer, or above the MTU: to b->dropped[].
 */
void mpls_send(struct burst *b, struct rte_mbuf *m, uint8_t *at, const uint8_t type[2],
	const struct mpls_push *push, struct outbox *out) RUNS_ON(role_worker);
