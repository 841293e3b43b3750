/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL and Ethernet ports: initialization from device arguments. Capabilities are read from the
 * driver (rte_eth_dev_info_get()). AF_XDP ports use the XDP program of this directory
 * (dataplane/port/xdp.h).
 *
 * Writer: main, which opens and closes ports (also at run time: dataplane/process/port_set.h); the host thread
 * for MAC address and MTU (port_refresh()). Other threads read a port while it is shown, from
 * port_show() to port_hide().
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "lpm/base/base.h"
#include "lpm/base/netns.h"
#include "lpm/base/prefix.h"

#include <stdio.h>

struct arena;

#define PORTS_MAX 64
#define PORT_NAME_MAX 16 /* IFNAMSIZ, including NUL */
#define PORT_QUEUES_MAX 64
#define PORT_MTU_MAX 9216
#define ETHER_LEN 14
#define VLAN_TAG 4
#define VLAN_MAX 4094 /* the largest identifier of a VLAN */
#define WORKER_INJECT_MAX 2290 /* capacity of a packet buffer after the Ethernet header */

struct port_config;

struct dataplane_config {
	const unsigned *worker_cpus;
	unsigned worker_count;
	const unsigned *control_cpus; /* EAL's main lcore runs on the first CPU */
	unsigned control_count;
	unsigned memory_mb; /* limit for EAL; hugepages if enough are free, else --no-huge */
	const char *const *eal_args; /* appended unchanged */
	unsigned eal_arg_count;
	const char *run_dir; /* directory for the BPF object, which the driver reads */
	const char *name; /* --file-prefix */
	FILE *messages; /* output of EAL, drivers and libbpf, from any thread; NULL: stderr */
	struct host_limits host_limits; /* of packets for this router, for each port */
	/* The ports at the start share the packet memory by need. */
	const struct port_config *port;
	unsigned port_count;
	struct arena *shared; /* for the part of the ports read by keeld; NULL: malloc() */
};

/* The VLAN of a port on another port (IEEE 802.1Q): identifiers of its tags. */
struct port_vlan {
	uint16_t outer, inner; /* outer 0: no VLAN; inner 0: a single tag */
};

struct port_config {
	const char *name; /* name of the kernel interface */
	const char *device; /* DPDK device arguments, or a VLAN: port_vlan_parse() */
	struct vrf_id vrf;
	/*
	 * Network namespace of the kernel interface; NULL: the namespace of the process, or of a port
	 * of a VPN instance that waits for the namespace. The descriptors stay open while the port is.
	 */
	const struct netns *netns;
	bool mpls; /* labelled packets are forwarded; otherwise they are dropped */
	/* set on the device and the kernel interface; 0: keep the MTU of the interface */
	uint16_t mtu;
	/*
	 * Pairs of a receive and a transmit queue. 0: a pair for each worker, up to the limit of
	 * the device.
	 */
	unsigned queues;
	/* The worker of each receive queue, repeated from the start; NULL: see port_queue_worker(). */
	const unsigned *queue_workers;
	unsigned queue_worker_count;
	/*
	 * Packets for this router reach the kernel: by the interface of the device, or by a TAP with
	 * the name of the port. Where neither is possible, port_add() fails.
	 */
	bool host_path;
	/*
	 * For port_set_change(). leaves, returns: port_left(), port_returned() when the change began.
	 * optional: a device that does not open leaves the port without a device. restored:
	 * accepts a missing device, because the port ran before with this device.
	 */
	bool leaves, returns, optional, restored;
};

/*
 * The device of a port on a VLAN: "vlan,parent=NAME,id=OUTER" or "vlan,parent=NAME,id=OUTER.INNER". The parent
 * has a device; its frames with these tags belong to the port.
 */
/* False: no such device. */
bool port_vlan_parse(const char *device, char parent[PORT_NAME_MAX], struct port_vlan *out);
/* True if `device` is on a VLAN of the port with this name. */
bool port_vlan_is_on(const char *device, const char *parent);

/* The ways of a device to the kernel. */
enum port_kernel {
	PORT_KERNEL_OWN, /* the device works on a kernel interface, which the kernel uses as well */
	PORT_KERNEL_TAP, /* a TAP with the name of the port */
	/* lab ports (net_null): an interface with the name of the port, else a TAP */
	PORT_KERNEL_ANY,
};

enum port_state {
	PORT_DOWN, /* no link */
	PORT_UP,
	PORT_MISSING, /* the device, or an interface that the port needs, was removed */
	PORT_FAILED, /* the driver reported a fault, or the port could not be opened */
};

/* How packets for this router reach the kernel from a port. */
enum host_way {
	HOST_WAY_NONE, /* not by this worker: the packets are dropped */
	HOST_WAY_TAP, /* by the rings of punt.h */
	HOST_WAY_COPY, /* the kernel has its own copy of each packet */
};

struct port_counters {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_missed;
	uint64_t tx_dropped; /* packets that the driver did not accept; counted by the workers */
	uint64_t rx_errors; /* packets refused by the device or the driver */
	uint64_t rx_no_buffer; /* times the driver found no free packet buffer */
	/* AF_XDP: losses of the socket, from XDP_STATISTICS, if the driver exposes its socket */
	uint64_t xdp_rx_dropped, xdp_rx_ring_full, xdp_fill_empty, xdp_invalid;
};

/* A counter of a driver (xstats of ethdev). */
#define DRIVER_COUNTER_NAME 80 /* of ethdev 64, and a queue */
struct driver_counter {
	char name[DRIVER_COUNTER_NAME];
	uint64_t value;
};

/* Packets of a class (host_class.h): handed to the kernel; dropped by the limit; lost otherwise. */
struct host_counters {
	uint64_t passed, policed, lost;
};

/* Error text for the operator: names the place and the reason. */
struct dataplane_error {
	char text[256];
};

/* Initializes EAL. *huge: hugepages are used. Returns 0, or -errno with `err`. */
int dataplane_init(const struct dataplane_config *c, bool *huge, struct dataplane_error *err);
/* Part of `memory_mb` used by EAL, mostly for packet buffers; the rest is for forwarding tables. */
unsigned dataplane_eal_mb(unsigned memory_mb);
/* Stops the workers, stops and closes all ports, detaches XDP, and cleans up EAL. */
void dataplane_fini(void);
const char *dataplane_dpdk_version(void);

/* The way of a device with these arguments. Needs no EAL. */
enum port_kernel port_kernel_of(const char *device);
/*
 * Checks that a port of this name can have a host path: 0, or -errno with `err`. Needs no EAL. The
 * TAP of a running keeld is no obstacle.
 */
int port_host_check(const char *name, const char *device, struct dataplane_error *err);
/* 0; -ENODEV with `err`: the host lacks the device or the interface, and the port would wait. Needs no EAL. */
int port_device_check(const char *device, struct dataplane_error *err);
/* Checks the MTU against the limit of the kind of device: 0, or -EINVAL with `err`. Needs no EAL. */
int port_mtu_check(const char *device, uint16_t mtu, struct dataplane_error *err);
/*
 * True if the port needs large packet buffers, by its configured MTU or, without one, by the MTU of
 * its interface in the namespace of the caller. Needs no EAL.
 */
bool port_is_large(const struct port_config *c);

/*
 * Creates, configures and starts a port, before the workers. Ports are numbered from 0 in this order;
 * adjacencies use the numbers. Returns 0, or -errno with `err`.
 */
int port_add(const struct port_config *c, uint16_t *port, struct dataplane_error *err);
/* The name of the port's kernel interface: of net_af_xdp its `iface`, else the port's name. */
void port_interface(const struct port_config *c, char out[PORT_NAME_MAX]);
/*
 * Takes a number for a port without a device: without queues, interface and packets. Its state is
 * PORT_MISSING if the device is not there or leaves (`left`), else PORT_FAILED; `reason` (may begin with
 * "port NAME: ") is shown with the state. Followed by port_show(). Returns the number, or -ENOSPC.
 */
int port_skip(const struct port_config *c, bool left, const char *reason);
/* port_skip() with the number in `port`; the reason is in `err`. 0, or -ENOSPC with `err`. */
int port_wait(const struct port_config *c, bool left, uint16_t *port, struct dataplane_error *err);
/* 0; -ENODEV with `err`: a port of a VPN instance whose network namespace keeld did not give. */
int port_lacks_namespace(const struct port_config *c, struct dataplane_error *err);
/*
 * Other threads may read the port from now on; or no longer. On the thread of
 * port_states_read() and host_path_turn(), or before the start of this thread.
 */
void port_show(uint16_t port);
void port_hide(uint16_t port);
/*
 * Reads MAC address and MTU from the kernel interface (without an interface: from the driver).
 * Called after a link message. Workers use the new address at once. *changed: MAC address or MTU
 * changed; adjacencies of the port must be renewed. Returns 0 or -errno.
 */
int port_refresh(uint16_t port, bool *changed) RUNS_ON(role_host);
/*
 * Adds or removes a local address for all ports in the VRF: packets for the address go to the
 * kernel, on whichever port they arrive, and packets from the address are dropped. Returns 0 or -errno.
 */
int port_local_address_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_host);
/*
 * Adds or removes an anycast address of a port. The kernel has joined it on the port's interface, and answers
 * solicitations and packets there. Repeating joins again. Returns 0 or -errno.
 */
int port_anycast_set(uint16_t port, const struct ip_addr *addr, bool present) RUNS_ON(role_host);
/*
 * Sets the own IPv4 addresses of UDP tunnels, in network order: packets of tunnels to these addresses
 * go to the workers. Returns 0 or -errno.
 */
int port_tunnels_set(const uint32_t *own, unsigned count) RUNS_ON(role_host);
/*
 * Sets the source address of ICMP errors about packets received on `port`. An AFI_NONE address
 * removes the source.
 */
void port_icmp_source_set(uint16_t port, enum afi afi, const struct ip_addr *addr)
	RUNS_ON(role_host);
/*
 * The numbers of ports are below port_count(). port_exists(): false for the number of a removed port,
 * without values of the functions below: the name "", the state PORT_MISSING, and so on.
 */
unsigned port_count(void);
bool port_exists(uint16_t port);
/* PORTS_MAX: no port has the name. */
uint16_t port_named(const char *name);
const char *port_name(uint16_t port);
struct vrf_id port_vrf(uint16_t port);
bool port_mpls(uint16_t port);
/* The VLAN of a port, and the number of its parent; outer 0: the port has a device. */
struct port_vlan port_vlan_get(uint16_t port, uint16_t *parent);
uint16_t port_mtu(uint16_t port);
/*
 * MTU of the interface at the last message about the link; 0: no interface, or no message yet. A
 * value above port_mtu() means that the device loses frames longer than port_mtu().
 */
uint16_t port_mtu_own(uint16_t port);
void port_mac(uint16_t port, uint8_t mac[6]);
/*
 * Index of the kernel interface of the port (AF_XDP, net_af_packet: its iface; else the TAP, or the
 * interface with the port's name), or 0 without interface.
 */
unsigned port_ifindex(uint16_t port);
bool port_is_xdp(uint16_t port);
/* Index of keel0, the TUN of a VRF, in the namespace of the VRF; 0: none. */
unsigned port_tun(struct vrf_id vrf);
void port_tun_set(struct vrf_id vrf, unsigned ifindex);
/*
 * Reads the states of all ports from their devices and interfaces, and gives the TAPs their carriers.
 * Called each PORT_STATES_NS, and when port_events_fd() is readable.
 */
void port_states_read(void) RUNS_ON(role_host);
#define PORT_STATES_NS 20000000u
#define PORT_QUERY_NS 250000000u /* of a device with firmware */
/* Any thread: the state at the last port_states_read(). */
enum port_state port_state(uint16_t port);
const char *port_state_text(enum port_state s);
/* The state with the cause, and the link as reported by the device or the interface. */
struct port_link {
	enum port_state state;
	const char *reason; /* NULL: PORT_UP. Valid until the port closes */
	uint8_t cause; /* the number of the reason */
	uint32_t speed_mbps; /* 0: unknown; so are the words below with NULL */
	const char *duplex; /* half, full */
	const char *autoneg; /* on, off */
	const char *fec; /* off, auto, base-r, rs, llrs */
};
/* Any thread. The link is as of the last change of the state, or PORT_LINK_NS ago. */
void port_link_get(uint16_t port, struct port_link *out);
#define PORT_LINK_NS 2000000000u
/* Readable after a driver reported a change of a link or a removal; -1: no data plane. */
int port_events_fd(void);
/*
 * True if the kernel asks for the PCI device of the port, and waits until the port is closed. Not
 * for ports of VPN instances.
 */
bool port_left(uint16_t port);
/*
 * True if an interface of the port was deleted (of its device, or its TAP), and an interface of the name
 * exists again, or if a port has no device because the device was missing, and the device is there, or
 * because the device did not open, PORT_RETRY_NS ago; or if the device was reset. `netns`: of the VPN instance of
 * the port, as the caller has it; without a namespace such a port waits.
 */
#define PORT_RETRY_NS 60000000000u
bool port_returned(uint16_t port, const struct netns *netns);
/* False: port_skip() has taken the number. */
bool port_runs(uint16_t port);
/* ethdev's port number, for workers. */
uint16_t port_ethdev(uint16_t port);
unsigned port_rx_queues(uint16_t port);
unsigned port_tx_queues(uint16_t port);
/* The worker of a receive queue; by default (port + queue) mod the number of workers. */
unsigned port_queue_worker(uint16_t port, unsigned queue);
/* The key of a class in the configuration, in statistics and metrics. */
const char *host_class_text(enum host_class c);
/*
 * True if the port of this name has this configuration, and need not be opened again (port_left(),
 * port_returned()). A port that failed is tried again when its configuration changes.
 */
bool port_set_has(const struct port_config *c);
