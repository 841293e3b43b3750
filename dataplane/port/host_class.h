/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Classes of the packets that a port hands to the kernel. Each class has its own token buckets,
 * because a flood of one class must not delay further classes: a bucket in the XDP program of an AF_XDP
 * port, or in each worker of a port without AF_XDP. Plain C without includes: shared
 * with the XDP program (keel_xdp.bpf.c) and the configuration.
 *
 * The order is the order in which the host thread empties the rings.
 */
#pragma once

enum host_class {
	/* TCP from the address of a configured peer; ARP and neighbour discovery of such an address */
	HOST_BGP_PEERS,
	HOST_NEIGHBORS, /* other ARP and neighbour discovery */
	HOST_BGP_OTHERS, /* TCP from or to port 179 */
	HOST_ICMP,
	HOST_OTHERS,
	HOST_CLASSES
};

/* Packets a second of each bucket; a tenth of it at once, at least one. 0: no limit. */
struct host_limits {
	unsigned pps[HOST_CLASSES];
};
