// SPDX-License-Identifier: (BSD-3-Clause OR GPL-2.0-only)
/*
 * What an AF_XDP port hands to the worker: IPv4 unicast that is addressed to none of us. All else is the kernel's: ARP, IPv6, VLAN tags,
 * multicast and broadcast of either layer, what is addressed to us (by local address, not by TCP port: somebody else's BGP in
 * transit is forwarded), and everything while no worker has bound the queue.
 *
 * The driver (DPDK 22.11) wants this program first in the object and the map named xsks_map. The kernel forwards nothing of what it
 * is passed: a rule of control/netlink.c sees to it.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
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

/* Our addresses, in network order. Written by the host thread. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_MAX);
	__type(key, __u32);
	__type(value, __u8);
} local_v4 SEC(".maps");

SEC("xdp")
int
keel_xdp(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 destination;

	if ((void *)(ip + 1) > end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || (eth->h_dest[0] & 1))
		return XDP_PASS;
	destination = ip->daddr;
	/* 224/4, and the limited broadcast */
	if ((destination & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		destination == bpf_htonl(0xffffffff))
		return XDP_PASS;
	if (bpf_map_lookup_elem(&local_v4, &destination))
		return XDP_PASS;
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
