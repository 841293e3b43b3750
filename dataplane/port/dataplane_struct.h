/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of the data plane and the functions that its files share: eal.c (start and end, EAL), port.c
 * (the table of ports), port_buffers.c, port_device.c, port_xdp.c and port_host.c. A port is in
 * port_struct.h.
 *
 * Writer: main; the host thread for MAC address and MTU of a port (port_refresh()). In keeld with a
 * forwarder process (forwarder.h) the state is that of keelfwd, and keeld only reads.
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/host_peers.h"
#include "dataplane/port/own_addresses.h"
#include "dataplane/port/icmp_source.h"
#include "dataplane/port/port_struct.h"
#include "lpm/fib.h"

#include <stdatomic.h>

struct arena;
struct rte_mempool;
struct xdp;

#define EAL_ARGS_MAX 64
#define EAL_ARG_LEN 256
/*
 * Room for a 1,500-byte frame after the mbuf's headroom and the 256 bytes that XDP reserves.
 * Header and mbuf together stay well below a page, the limit of an AF_XDP buffer.
 */
#define XDP_HEADROOM 256
#define MBUF_DATA_ROOM (RTE_PKTMBUF_HEADROOM + XDP_HEADROOM + 2048)
#define MBUFS_MAX 1048575
#define RING_SIZE 2048 /* a power of two, as AF_XDP requires */
/*
 * An AF_XDP queue keeps three rings filled with buffers. Without enough buffers the queue loses
 * packets.
 */
#define QUEUE_MBUFS_XDP (3u * RING_SIZE)
#define QUEUE_MBUFS (2u * RING_SIZE) /* of other devices: to receive, and sent */

/* Command line for EAL, which keeps pointers to the arguments. */
struct eal_args {
	char text[EAL_ARGS_MAX][EAL_ARG_LEN];
	char *argv[EAL_ARGS_MAX + 1];
	int argc;
	bool overflow;
};

/* Kinds of pools: for vdevs; then for devices that access memory by DMA, by NUMA socket. Each with plain and large buffers. */
#define POOL_SOFT 0
#define POOL_SOFT_LARGE 1
#define POOL_HARD 2
#define POOLS (POOL_HARD + 2 * RTE_MAX_NUMA_NODES)

/* Created by dataplane_init(), destroyed by dataplane_fini(). Main writes; other threads read. */
struct dataplane {
	struct arena *shared; /* of this struct; NULL: malloc() */
	unsigned eal_mb;
	unsigned worker_count;
	unsigned worker_cpu[RTE_MAX_LCORE];
	char object_path[256]; /* path of the XDP object, for the driver */
	bool object_written;
	/* Packet buffers, by pool_of(); NULL: no port has needed them yet. */
	struct rte_mempool *pool[POOLS];
	uint32_t planned[POOLS]; /* buffers that the ports at the start need */
	bool large; /* some port at the start needs large buffers */
	struct rte_mempool *own_pool; /* not for ports: see port_own_pool() */
	struct xdp *xdp;
	struct icmp_sources icmp_sources;
	struct host_limits host_limits;
	struct host_peers host_peers;
	struct own_addresses own_addresses;
	struct port port[PORTS_MAX];
	_Atomic unsigned port_count; /* the highest number in use so far, plus 1 */
	/* Other threads may read the port. Writer: see port_show(). */
	_Atomic bool shown[PORTS_MAX];
	bool open[PORTS_MAX], served[PORTS_MAX]; /* main: has a device; workers use it */
	_Atomic unsigned tun[FIB_VRF_MAX]; /* port_tun() */
	struct eal_args eal;
};

/* Set by dataplane_init() and dataplane_adopt(). NULL: no data plane. */
extern struct dataplane *dp;

/* ---- port.c ---- */

/* The MAC address that other threads read. Main, then the host thread. */
void port_mac_store(struct port *p, const uint8_t mac[6]);

/* The longest IP packet that fits into a packet buffer. */
#define ROOM_PLAIN (MBUF_DATA_ROOM - RTE_PKTMBUF_HEADROOM - ETHER_LEN)
#define ROOM_XDP (ROOM_PLAIN - XDP_HEADROOM)

/* ---- port_buffers.c ---- */

/* Before the first port: which buffers the ports of the configuration need. */
void port_pools_plan(const struct dataplane_config *c);
/* The number of buffers of a pool: its share of the memory. */
unsigned port_pool_size(unsigned pool);
/* A value of memory_mb for a pool with `buffers` free buffers. */
unsigned port_memory_for(const struct rte_mempool *pool, unsigned buffers);
/* The receive queues of a kernel interface; 1 also if it is not there. */
unsigned interface_queues(const char *iface);
/* The pool of the port, created at the first call. soft: the device is a vdev. NULL: no memory. */
struct rte_mempool *port_pool_for(const struct port *p, bool soft);
/* The longest IP packet that fits into a buffer of the port. */
uint16_t port_packet_room(const struct port *p);
/* Chooses the MTU and the kind of buffers of a port before its start. 0, or -errno with `err`. */
int port_mtu_choose(struct port *p, const char *device, struct dataplane_error *err);

/* ---- port_device.c ---- */

bool device_is_af_xdp(const char *device);
/*
 * Opens and starts the device, in the namespace of its interface, with all AF_XDP queues and the kernel
 * interface of the port. 0, or -errno with `err`.
 */
int device_open(struct port *p, const char *device, unsigned queues, struct dataplane_error *err);
/* Opens `full` in DPDK: the arguments `device` with defaults. *soft: a vdev. */
int device_probe(struct port *p, const char *device, const char *full, bool *soft,
	struct dataplane_error *err);
/*
 * Configures and starts a device after device_probe(). 0, or -errno with `err`: the caller then stops the
 * device.
 */
int port_start(struct port *p, const char *device, bool soft, unsigned queues,
	struct dataplane_error *err);
/*
 * Stops and removes all devices of the port. Without `sockets` port_xdp_sockets_close() closes
 * the sockets of AF_XDP, with their buffers.
 */
void port_devices_stop(struct port *p, bool sockets);
/* Stops and closes the port in the namespace of its interface, where the program is detached. */
void port_end(struct port *p);

/* ---- port_vlan.c ---- */

/* The device of the parent takes frames of the VLAN of an open port, or no longer. */
void port_vlan_tell(struct port *p, bool present);
/*
 * Gives the TAPs of ports on VLANs the MTU of their parent, unless they have one of their own that is smaller, and its MAC
 * address, if they had its address `old`.
 */
void port_vlans_follow(const struct port *on, const uint8_t old[6]) RUNS_ON(role_host);
/* The largest MTU of a port on a VLAN. */
uint16_t port_vlan_mtu_most(struct port *p);

/* ---- port_xdp.c ---- */

bool is_xdp_socket(int fd);
/* Before the device opens: reserves its interface, chooses the queues. 0, or -errno with `err`. */
int port_xdp_reserve(
	struct port *p, const char *device, unsigned queues, struct dataplane_error *err);
/* Finds the socket of a new queue, and checks that the driver polls the socket. 0, or -errno with `err`. */
int port_xdp_socket_take(struct port *p, uint16_t queue, struct dataplane_error *err);
/* The queues of the next device of the port, from queue `first` on. */
unsigned port_xdp_device_queues(const struct port *p, unsigned first);
/* Opens the devices of the queues beyond the first device. 0, or -errno with `err`. */
int port_xdp_queues_open(struct port *p, struct dataplane_error *err);
/* Gives the sockets of all queues to the own XDP program. 0, or -errno with `err`. */
int port_xdp_sockets_attach(struct port *p, struct dataplane_error *err);
/* Closes AF_XDP sockets of no port: the driver leaves one open, with its buffers, after a failure. */
void port_xdp_sockets_close(void);
/* Returns the buffers of a port to their pool, before port_end(). */
void port_xdp_buffers_free(struct port *p);

/* ---- port_host.c ---- */

int port_kernel_mtu_set(unsigned ifindex, uint16_t mtu);
int port_kernel_mac_set(unsigned ifindex, const uint8_t mac[6]);

/*
 * Reads the link from the kernel, by index: the interface may have been renamed. 0 or -errno. Main and
 * host thread.
 */
int port_kernel_link(unsigned ifindex, uint8_t mac[6], uint16_t *mtu);
/*
 * Chooses the kernel interface of a port that has started, or creates a TAP. 0, or -errno with `err`.
 */
int port_interface_choose(struct port *p, const char *device, struct dataplane_error *err);
