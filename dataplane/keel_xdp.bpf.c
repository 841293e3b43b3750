// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * XDP program of AF_XDP ports. Hands IPv4 and IPv6 unicast packets for other hosts to the worker,
 * and labelled packets (MPLS), which the worker drops under a name on a port without `mpls`.
 * Everything else goes to the kernel: ARP, neighbour discovery, VLAN tags, multicast and broadcast
 * of both layers, link-local destinations, packets for local addresses (selected by address, not
 * by TCP port, so BGP in transit is forwarded), and all packets while no worker is bound to the
 * queue.
 *
 * The driver (DPDK 22.11) needs this program first in the object, and a map named xsks_map. A rule
 * installed by control/host/netlink.c keeps the kernel from forwarding.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define QUEUES_MAX 64
#define LOCAL_MAX 4096

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

/* Local addresses in network order. Written by the host thread. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_MAX);
	__type(key, __u32);
	__type(value, __u8);
} local_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_MAX);
	__type(key, struct in6_addr);
	__type(value, __u8);
} local_v6 SEC(".maps");

static __always_inline int
is_ours_v4(const struct iphdr *ip, const void *end)
{
	__u32 destination;

	if ((const void *)(ip + 1) > end)
		return 1;
	destination = ip->daddr;
	/* 224/4 and the limited broadcast address */
	if ((destination & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		destination == bpf_htonl(0xffffffff))
		return 1;
	return bpf_map_lookup_elem(&local_v4, &destination) != NULL;
}

/*
 * RFC 4861 6.1, 7.1: a hop limit of 255 proves that the packet comes from this link. Needed for
 * answers to a new local address, which may arrive before the address is in the map.
 */
static __always_inline int
is_discovery(const struct ipv6hdr *ip, const void *end)
{
	const struct icmp6hdr *icmp = (const void *)(ip + 1);

	if (ip->nexthdr != IPPROTO_ICMPV6 || ip->hop_limit != 255 || (const void *)(icmp + 1) > end)
		return 0;
	return icmp->icmp6_type >= 133 && icmp->icmp6_type <= 137;
}

static __always_inline int
is_ours_v6(const struct ipv6hdr *ip, const void *end)
{
	struct in6_addr destination;

	if ((const void *)(ip + 1) > end)
		return 1;
	destination = ip->daddr;
	/* ff00::/8, fe80::/10 */
	if (destination.s6_addr[0] == 0xff ||
		(destination.s6_addr[0] == 0xfe && (destination.s6_addr[1] & 0xc0) == 0x80))
		return 1;
	return bpf_map_lookup_elem(&local_v6, &destination) != NULL || is_discovery(ip, end);
}

SEC("xdp")
int
keel_xdp(struct xdp_md *ctx)
{
	const void *end = (void *)(long)ctx->data_end;
	const struct ethhdr *eth = (void *)(long)ctx->data;

	if ((const void *)(eth + 1) > end || (eth->h_dest[0] & 1))
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (is_ours_v4((const void *)(eth + 1), end))
			return XDP_PASS;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (is_ours_v6((const void *)(eth + 1), end))
			return XDP_PASS;
	} else if (eth->h_proto != bpf_htons(ETH_P_MPLS_UC)) {
		return XDP_PASS;
	}
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
