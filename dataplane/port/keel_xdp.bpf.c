// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * XDP program of AF_XDP ports. Hands IPv4 and IPv6 unicast packets for other hosts to the worker,
 * and labelled packets (MPLS), dropped by the worker under a name on a port without `mpls`.
 * Frames of ports on VLANs go to the worker. All other packets go to the kernel: ARP, neighbour discovery, tags of further VLANs, multicast and broadcast
 * of both layers, link-local destinations, packets for local addresses (selected by address, not
 * by TCP port, so BGP in transit is forwarded) except packets of UDP tunnels and for anycast addresses, and
 * all packets while no worker is bound to the queue. Packets to the kernel are limited by class (host_class.h), as
 * punt.c does for ports without this program.
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
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "dataplane/port/host_class.h"

#define QUEUES_MAX 64
#define LOCAL_MAX 4096
#define PEERS_MAX 8192
#define BGP_PORT bpf_htons(179)
/* As in xdp.c. */
#define LOCAL_TUNNEL 2 /* the own end of UDP tunnels */
#define LOCAL_ANYCAST 4
#define TUNNEL_PORT 6635 /* MPLS over UDP, RFC 7510 6 */

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

/* Local addresses in network order, with bits LOCAL_*. Written by the host thread. */
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

/* Addresses of BGP peers in network order. Written by main. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PEERS_MAX);
	__type(key, __u32);
	__type(value, __u8);
} peers_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PEERS_MAX);
	__type(key, struct in6_addr);
	__type(value, __u8);
} peers_v6 SEC(".maps");

#define VLAN_TAG 4
#define VLAN_ID bpf_htons(0x0fff)
#define VLANS_MAX 64

/* Outer tags, in host order, of ports on VLANs of this port. Written by main. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VLANS_MAX);
	__type(key, __u32);
	__type(value, __u8);
} vlans SEC(".maps");

/* A token bucket and its counters. xdp.c has the same struct. Main writes period and most once. */
struct host_bucket {
	struct bpf_spin_lock lock;
	__u32 unused;
	__u64 period, most; /* ns for each packet (0: no limit), ns at most */
	__u64 tokens, last; /* ns */
	__u64 passed, policed;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOST_CLASSES);
	__type(key, __u32);
	__type(value, struct host_bucket);
} host_buckets SEC(".maps");

/*
 * Maps read addresses in the packet, without a copy: without CAP_PERFMON the verifier of Linux 6.1 takes a second
 * write of less than 8 octets into a word of the stack for a corrupted pointer.
 */

/* Workers take tunnel packets; fragments and packets with options are left to the kernel. */
static __always_inline int
is_tunnel(const struct iphdr *ip, const void *end)
{
	const struct udphdr *udp = (const void *)(ip + 1);

	return ip->ihl == 5 && ip->protocol == IPPROTO_UDP && (const void *)(udp + 1) <= end &&
	       !(ip->frag_off & bpf_htons(0x3fff)) && udp->dest == bpf_htons(TUNNEL_PORT);
}

static __always_inline int
is_ours_v4(const struct iphdr *ip, const void *end)
{
	const __u8 *local;

	if ((const void *)(ip + 1) > end)
		return 1;
	/* 224/4 and the limited broadcast address */
	if ((ip->daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		ip->daddr == bpf_htonl(0xffffffff))
		return 1;
	local = bpf_map_lookup_elem(&local_v4, &ip->daddr);
	return local != NULL && !((*local & LOCAL_TUNNEL) && is_tunnel(ip, end));
}

/*
 * RFC 4861 6.1, 7.1: a hop limit of 255 proves that the packet comes from this link. Needed for
 * answers to a new local address, which may arrive before the address is in the map.
 */
static __always_inline int
is_discovery(const struct ipv6hdr *ip, const void *end)
{
	const struct icmp6hdr *icmp = (const void *)(ip + 1);

	if ((const void *)(icmp + 1) > end || ip->nexthdr != IPPROTO_ICMPV6 || ip->hop_limit != 255)
		return 0;
	return icmp->icmp6_type >= 133 && icmp->icmp6_type <= 137;
}

static __always_inline int
is_link_local(const struct in6_addr *a)
{
	return a->s6_addr[0] == 0xfe && (a->s6_addr[1] & 0xc0) == 0x80;
}

/* Of packets for an anycast address the worker gives the kernel those that may come from beyond this link (punt.c). */
static __always_inline int
is_ours_v6(const struct ipv6hdr *ip, const void *end)
{
	const __u8 *local;

	if ((const void *)(ip + 1) > end)
		return 1;
	/* ff00::/8 */
	if (ip->daddr.s6_addr[0] == 0xff || is_link_local(&ip->daddr))
		return 1;
	local = bpf_map_lookup_elem(&local_v6, &ip->daddr);
	if (local != NULL && (!(*local & LOCAL_ANYCAST) || is_link_local(&ip->saddr)))
		return 1;
	return is_discovery(ip, end);
}

/* ---- classes: the same decisions as in punt.c ---- */

static __always_inline int
is_peer_v4(const void *address)
{
	return bpf_map_lookup_elem(&peers_v4, address) != NULL;
}

static __always_inline int
is_peer_v6(const struct in6_addr *address)
{
	return bpf_map_lookup_elem(&peers_v6, address) != NULL;
}

static __always_inline enum host_class
class_ports(struct xdp_md *ctx, __u32 at)
{
	__u16 port[2];

	/* A helper, because the verifier lets a program without CAP_PERFMON add no variable to a packet's address. */
	if (bpf_xdp_load_bytes(ctx, at, port, sizeof(port)) != 0)
		return HOST_OTHERS;
	return port[0] == BGP_PORT || port[1] == BGP_PORT ? HOST_BGP_OTHERS : HOST_OTHERS;
}

static __always_inline enum host_class
class_v4(struct xdp_md *ctx, __u32 at, const struct iphdr *ip, const void *end)
{
	if ((const void *)(ip + 1) > end || ip->ihl < 5)
		return HOST_OTHERS;
	if (ip->protocol == IPPROTO_ICMP)
		return HOST_ICMP;
	if (ip->protocol != IPPROTO_TCP)
		return HOST_OTHERS;
	if (is_peer_v4(&ip->saddr))
		return HOST_BGP_PEERS;
	if (ip->frag_off & bpf_htons(0x1fff)) /* a later fragment, without ports */
		return HOST_OTHERS;
	return class_ports(ctx, at + ip->ihl * 4);
}

static __always_inline enum host_class
class_v6(struct xdp_md *ctx, __u32 at, const struct ipv6hdr *ip, const void *end)
{
	const struct icmp6hdr *icmp = (const void *)(ip + 1);
	const struct in6_addr *target = (const void *)(icmp + 1);

	if ((const void *)(ip + 1) > end)
		return HOST_OTHERS;
	if (ip->nexthdr == IPPROTO_TCP)
		return is_peer_v6(&ip->saddr) ? HOST_BGP_PEERS : class_ports(ctx, at + sizeof(*ip));
	if (ip->nexthdr != IPPROTO_ICMPV6)
		return HOST_OTHERS;
	if (!is_discovery(ip, end))
		return HOST_ICMP;
	if (is_peer_v6(&ip->saddr))
		return HOST_BGP_PEERS;
	/* RFC 4861 4.4: an advertisement from a link-local address names its target */
	if (icmp->icmp6_type == 136 && (const void *)(target + 1) <= end && is_peer_v6(target))
		return HOST_BGP_PEERS;
	return HOST_NEIGHBORS;
}

static __always_inline enum host_class
class_of(struct xdp_md *ctx, __be16 type, __u32 at, const __u8 *l3, const void *end)
{
	if (l3 > (const __u8 *)end)
		return HOST_OTHERS;
	if (type == bpf_htons(ETH_P_IP))
		return class_v4(ctx, at, (const void *)l3, end);
	if (type == bpf_htons(ETH_P_IPV6))
		return class_v6(ctx, at, (const void *)l3, end);
	if (type != bpf_htons(ETH_P_ARP))
		return HOST_OTHERS;
	/* RFC 826: the sender's protocol address, after hardware address and header */
	if (l3 + 28 <= (const __u8 *)end && is_peer_v4(l3 + 14))
		return HOST_BGP_PEERS;
	return HOST_NEIGHBORS;
}

/* Passes a packet to the kernel, within the limit of its class. */
static __always_inline int
to_kernel(struct xdp_md *ctx, __be16 type, __u32 at, const __u8 *l3, const void *end)
{
	__u32 class = class_of(ctx, type, at, l3, end);
	struct host_bucket *b = bpf_map_lookup_elem(&host_buckets, &class);
	__u64 now = bpf_ktime_get_ns();
	__u64 passes;

	if (b == NULL)
		return XDP_PASS;
	bpf_spin_lock(&b->lock);
	/* now may be below last: the lock may have gone to a later packet first */
	if (now > b->last) {
		b->tokens += now - b->last;
		b->last = now;
	}
	if (b->tokens > b->most)
		b->tokens = b->most;
	/* Both counters, without a branch: clang would make the two branches one addition at a computed offset, and
	 * the verifier refuses a computed address to a program loaded without CAP_PERFMON. */
	passes = b->tokens >= b->period;
	b->tokens -= passes ? b->period : 0;
	b->passed += passes;
	b->policed += !passes;
	bpf_spin_unlock(&b->lock);
	return passes ? XDP_PASS : XDP_DROP;
}

/* The worker takes all frames of a port on a VLAN: its TAP is the kernel's way to the VLAN. */
static __always_inline int
is_of_port(__be16 type, const __u8 *tag, const void *end)
{
	__u32 id;

	if ((type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) ||
		(const void *)(tag + VLAN_TAG) > end)
		return 0;
	id = bpf_ntohs(*(const __be16 *)tag & VLAN_ID);
	return bpf_map_lookup_elem(&vlans, &id) != NULL;
}

SEC("xdp")
int
keel_xdp(struct xdp_md *ctx)
{
	const void *end = (void *)(long)ctx->data_end;
	const struct ethhdr *eth = (void *)(long)ctx->data;
	const __u8 *l3 = (const void *)(eth + 1);
	__u32 at = sizeof(*eth); /* of l3 in the frame */
	__be16 type;

	if ((const void *)l3 > end)
		return XDP_PASS;
	type = eth->h_proto;
	if (is_of_port(type, l3, end))
		return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
	/* IEEE 802.1Q 6.9: VLAN 0 is no VLAN. The worker removes the tag. */
	if (type == bpf_htons(ETH_P_8021Q) && (const void *)(l3 + VLAN_TAG) <= end &&
		!(*(const __be16 *)l3 & VLAN_ID)) {
		type = *(const __be16 *)(l3 + 2);
		l3 += VLAN_TAG;
		at += VLAN_TAG;
	}
	if (eth->h_dest[0] & 1)
		return to_kernel(ctx, type, at, l3, end);
	if (type == bpf_htons(ETH_P_IP)) {
		if (is_ours_v4((const void *)l3, end))
			return to_kernel(ctx, type, at, l3, end);
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (is_ours_v6((const void *)l3, end))
			return to_kernel(ctx, type, at, l3, end);
	} else if (type != bpf_htons(ETH_P_MPLS_UC)) {
		return to_kernel(ctx, type, at, l3, end);
	}
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
