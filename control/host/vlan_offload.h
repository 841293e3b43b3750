/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VLAN offload of kernel interfaces that are AF_XDP ports. A driver with receive offload takes the
 * VLAN tag off before the XDP program runs, and the frame looks untagged there. The offload is
 * switched off, so that tagged frames reach the program with their tag.
 *
 * Of a veth, the far end hands over the tag beside the frame while transmit offload is on at the
 * far end. Transmit offload is switched off where the far end is in our network namespace, or in a
 * namespace with a name in /run/netns.
 *
 * A setting is named by a path of lpm/base/net_feature.h, as port_guard.c notes and restores it.
 *
 * Main. All functions are plain system calls, without state.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/net_feature.h"

struct mnl_socket;

/* The path of receive feature `index` of an AF_XDP port's interface. False: no such index. */
bool vlan_offload_rx(const char *iface, unsigned index, char path[NET_FEATURE_PATH]);
/*
 * The path of feature `index` at the far end of the veth `ifindex`. 0, -ENOENT (no veth, or no such
 * index), -EXDEV (the far end is in a namespace without a name), -errno.
 */
int vlan_offload_peer(
	struct mnl_socket *s, unsigned ifindex, unsigned index, char path[NET_FEATURE_PATH]);
