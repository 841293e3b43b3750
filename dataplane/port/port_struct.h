/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port, for port_life.c and the files of dataplane_struct.h. Writer: main, and what port_inner.h says of
 * the parts.
 */
#pragma once

#include "dataplane/port/port_inner.h"
#include "lpm/base/netns.h"

#include <net/if.h>

#define TX_LOCKS 8 /* of a port; transmit queues beyond share a lock */
#define DEVICE_MAX 1024 /* device arguments with defaults, and NUL */

struct port {
	char name[PORT_NAME_MAX];
	char iface[IFNAMSIZ]; /* AF_XDP only, else empty */
	struct vrf_id vrf;
	struct netns netns; /* of the kernel interface; fd -1: of the process */
	bool mpls;
	bool skipped; /* by port_skip() */
	char fault[160]; /* why, with `skipped` */
	uint64_t retry_ns; /* monotonic: when a port that failed is opened again */
	_Atomic uint16_t mtu;
	uint16_t mtu_max, mtu_driver; /* limits of the port, and of what ethdev accepts */
	bool large; /* uses large packet buffers */
	bool chains; /* see port_chains() */
	struct port_vlan
		vlan; /* outer not 0: frames with these tags of `parent`, whose device the port uses */
	uint16_t parent;
	bool vlan_promiscuous; /* for ports on VLANs of this port */
	uint16_t ethdev; /* of a VLAN: none */
	_Atomic uint64_t mac; /* six bytes in wire order, then zeros */
	unsigned ifindex;
	unsigned tap_ifindex; /* net_tap: the interface of the device */
	unsigned rx_queues, tx_queues;
	unsigned rss_entries; /* of the device's table of receive queues; 0: no such table */
	unsigned queue_worker_count; /* 0: the default */
	uint16_t queue_worker[PORT_QUEUES_MAX];
	bool mtu_given; /* set by the configuration; otherwise the MTU of the interface is used */
	_Atomic uint16_t mtu_own; /* MTU of the interface; 0: none */
	bool xdp;
	bool reserved; /* reserved by xdp_reserve(); to be released by xdp_release() */
	bool own_program; /* the device arguments name no other program */
	int xdp_socket;
	/* AF_XDP: all queues after the first, of the first device and of further ones */
	struct {
		uint16_t ethdev, queue;
		int socket;
	} more[PORT_QUEUES_MAX - 1];
	/* own_queues: sockets of the port in all; device_queues: at most this number of a device */
	unsigned more_count, own_queues, device_queues;
	bool host_path; /* port_config.host_path */
	/* port_config, to compare and to open again */
	char device[DEVICE_MAX];
	unsigned queues_wanted;
	uint16_t mtu_wanted;
	enum host_way way;
	struct port_host host;
	struct port_watch watch;
	int anycast; /* socket of port_anycast_set(); -1: none */
	struct tx_lock tx_lock[TX_LOCKS]; /* only used with fewer transmit queues than workers */
};

/* NULL: there is no such port. */
struct port *port_find(uint16_t port);
/* The port of a number, also of a number without a port. */
struct port *port_at(unsigned number);
/* The first number without a use so far, then the lowest free number; PORTS_MAX: no number. */
unsigned port_number_free(void);
void port_number_take(unsigned n);
void port_init(struct port *p, const struct port_config *c);
/* The namespace for netns_enter(). */
const struct netns *port_netns(const struct port *p);
/* Opens a port on a VLAN: its parent is open, and its TAP is made. 0, or -errno with `err`. */
int port_vlan_open(struct port *p, const char *device, struct dataplane_error *err);
/* The port with the device of this port: its parent, or itself. */
struct port *port_with_device(struct port *p);
/* Finds the value of `key` in device arguments. */
bool device_argument(const char *device, const char *key, char *out, size_t size);
/* True if the device has this driver. */
bool device_is(const char *device, const char *driver);

/* Before the driver takes buffers, and could lose the buffers: 0; -EBUSY with `err`: a queue is in use. */
int port_queues_check(const struct port *p, const char *device, struct dataplane_error *err);
/* The next port on the interface finds its queues free. */
void port_queues_await(const struct port *p, unsigned queues);
