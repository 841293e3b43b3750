/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL and Ethernet ports: bring-up from device arguments, capabilities asked (rte_eth_dev_info_get), never
 * assumed. AF_XDP ports get our XDP program (dataplane/xdp.h) through the driver.
 *
 * Writer: main, at start and stop; the host thread of MAC address and MTU (port_refresh). Other threads read what a port was given.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

#include <stdio.h>

#define PORTS_MAX 64
#define PORT_NAME_MAX 16 /* IFNAMSIZ with NUL */

struct dataplane_config {
	const unsigned *worker_cpus;
	unsigned worker_count;
	const unsigned *control_cpus; /* EAL's main lcore sits on the first */
	unsigned control_count;
	unsigned memory_mb; /* bound for EAL; hugepages when there are enough, else --no-huge */
	const char *const *eal_args; /* appended as they are */
	unsigned eal_arg_count;
	const char *run_dir; /* the BPF object is written here for the driver */
	const char *name; /* --file-prefix */
	FILE *messages; /* messages of EAL, drivers and libbpf, from any thread; NULL: stderr */
};

struct port_config {
	const char *name; /* of the kernel interface */
	const char *device; /* DPDK device arguments */
	struct vrf_id vrf;
	uint16_t
		mtu; /* set on device and kernel interface; 0: the interface's own counts and stays */
};

/* Room for the text of what went wrong, for the operator: names the place and the reason. */
struct dataplane_error {
	char text[256];
};

/* rte_eal_init. *huge tells what came of it. 0, -errno with `err`. */
int dataplane_init(const struct dataplane_config *c, bool *huge, struct dataplane_error *err);
/* What EAL takes of that bound, for packet buffers most of all; the rest is the forwarding tables'. */
unsigned dataplane_eal_mb(unsigned memory_mb);
/* Stops and closes every port, detaches XDP, and cleans up EAL. */
void dataplane_fini(void);
const char *dataplane_dpdk_version(void);

/* Ports are numbered 0.. in the order they are added: the `port` of adjacencies. Configured and started. 0, -errno. */
int port_add(const struct port_config *c, unsigned rx_queues, uint16_t *port,
	struct dataplane_error *err);
/*
 * On a link message: reads MAC address and MTU as the kernel's interface has them (where there is none: as the driver has). Workers take
 * the new address at once. *changed: it is not what it was, and adjacencies that were made of it are to be made anew. 0, -errno.
 */
int port_refresh(uint16_t port, bool *changed) RUNS_ON(role_host);
unsigned port_count(void);
const char *port_name(uint16_t port);
struct vrf_id port_vrf(uint16_t port);
uint16_t port_mtu(uint16_t port);
/* The interface's own MTU when the port was added, where port_config.mtu was 0 (else 0): above port_mtu() the device loses long frames. */
uint16_t port_mtu_own(uint16_t port);
void port_mac(uint16_t port, uint8_t mac[6]);
/* The kernel interface that stands for the port (AF_XDP: its iface; else that of the port's name), or 0 where there is none. */
unsigned port_ifindex(uint16_t port);
bool port_is_xdp(uint16_t port);
/* ethdev's own port number, for workers. */
uint16_t port_ethdev(uint16_t port);
