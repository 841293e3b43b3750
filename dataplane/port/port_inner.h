/* SPDX-License-Identifier: BSD-3-Clause */
/* Port functions for dataplane/ only. Same owner and lifetime as in port.h. */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"

#include <stdarg.h>
#include <stdatomic.h>

struct host_peers;
struct own_addresses;
struct icmp_sources;
struct rte_mempool;

/* The host path of a port (host_path.h). Writer: main in port_add(), then the host thread. */
struct port_host {
	int fd; /* of the TAP; -1: none, or deleted by an operator */
	bool carrier; /* of the TAP */
	bool frame_read; /* `frame` waits for room in the ring of the worker */
	struct rte_mbuf *frame; /* buffer for the next frame of the kernel */
	_Atomic uint64_t passed[HOST_CLASSES], lost[HOST_CLASSES]; /* frames to the kernel */
};

/*
 * What shows the state of a port (port_watch.c). Writer: main in port_add(), then the host thread; of
 * `event` EAL's interrupt thread.
 */
struct port_watch {
	int kernel; /* socket in the namespace of the port's interface `ifindex`; -1: no interface */
	unsigned ifindex;
	bool own; /* the interface belongs to the device, and has the link of the device; else a TAP */
	int tap; /* net_tap: a descriptor of its interface, owned by the driver; -1 */
	uint16_t ethdev;
	bool link_unknown; /* the driver does not report the link */
	/* A query of the link may call the firmware: one query each PORT_QUERY_NS. */
	bool costs;
	unsigned polls; /* since the link was read */
	unsigned queries; /* turns since the device was asked */
	_Atomic bool asked; /* with `costs`: no report since the last query */
	_Atomic unsigned event; /* enum port_why; WHY_NO_LINK: no event */
	_Atomic unsigned why; /* enum port_why */
	_Atomic uint64_t link; /* struct port_link in bits (port_watch.c) */
};

/* Why a port is in its state: each cause belongs to one state. */
enum port_why {
	WHY_NO_LINK,
	WHY_UP,
	WHY_INTERFACE_DOWN,
	WHY_INTERFACE_GONE,
	WHY_DEVICE_GONE,
	WHY_RESET,
	WHY_ABSENT, /* port_skip(): missing, and failed; the reason is a text */
	WHY_NOT_OPENED,
	WHY_FORWARDER_GONE, /* dataplane_lost() */
	WHY_PARENT, /* of a port on a VLAN: its parent is not up */
};

/* The words of struct port_link, as port_watch.link has them in bits. */
enum {
	MODE_UNKNOWN,
	HALF = 1,
	FULL,
	OFF = 1,
	ON,
	FEC_OFF = 1,
	FEC_AUTO,
	FEC_BASER,
	FEC_RS,
	FEC_LLRS
};

/* Starts to watch the device `ethdev`. w->link_unknown is set by the caller. */
void port_watch_start(struct port_watch *w, uint16_t ethdev, bool tap, unsigned ifindex, bool own);
void port_watch_stop(struct port_watch *w);
/* The kernel asks for the device. Any thread. */
void port_watch_pull(struct port_watch *w);
/* True after port_watch_pull(). */
bool port_watch_pulled(const struct port_watch *w);
/* Creates and closes the descriptor of port_events_fd(). Returns 0 or -errno. */
int port_watches_create(void);
void port_watches_destroy(void);
/*
 * Opens a port without showing it. Main. Returns 0, or -errno with `err`. The workers use the port
 * after workers_take_ports().
 */
int port_open(const struct port_config *c, uint16_t *port, struct dataplane_error *err);
/* Workers leave the port by the next workers_take_ports(). */
void port_unserve(uint16_t port);
bool port_is_served(uint16_t port);
/* Closes a port that is hidden and not served. Its number is free again. */
void port_close(uint16_t port);
/* True if a port with this device could open: the PCI device or the interface is present. */
bool port_device_is_there(const struct port_config *c);
/* The configuration of an open port: *c names memory of the port. False: the number is free. */
bool port_config_get(uint16_t port, struct port_config *c, unsigned queue_workers[PORT_QUEUES_MAX]);
/* True if the port is open with this configuration, and its device neither leaves nor returns. */
bool port_is_open_as(uint16_t port, const struct port_config *c);
/* NULL: there is no such port. */
struct port_watch *port_watch(uint16_t port);
/* The interface of the port is up and has a carrier. True for a port without an interface. */
bool port_interface_up(uint16_t port);
/* NULL: there is no such port. */
struct port_host *port_host(uint16_t port);
enum host_way port_host_way(uint16_t port);
const struct host_limits *port_host_limits(void);
/* Main writes, workers read. NULL: no data plane. Valid until dataplane_fini(). */
struct host_peers *port_host_peers(void);
struct own_addresses *port_own_addresses(void);
/* Packets that the XDP program of a port has passed to the kernel. False: not an own program. */
bool port_xdp_host_counters(uint16_t port, struct host_counters out[HOST_CLASSES]);
void port_xdp_peer_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_main);
/* A pool whose buffers each port can send, for workers; NULL: there is no port. */
struct rte_mempool *port_copy_pool(void);

/*
 * Held while a thread asks the device of the port for link or counters: a driver serves a single
 * call at a time.
 */
void port_asks_begin(uint16_t port);
void port_asks_end(uint16_t port);
/* The AF_XDP socket of a queue, or -1. The driver owns the socket. */
int port_xdp_socket(uint16_t port, unsigned queue);
/*
 * Address of the port's MAC address for workers: six bytes, then zeros. Valid while the port
 * exists.
 */
const _Atomic uint64_t *port_mac_place(uint16_t port);
/*
 * Octets of the longest frame for a driver that copies each frame into its own buffer, without a
 * check of the size (AF_XDP). 0: any frame.
 */
uint16_t port_frame_most(uint16_t port);
/* True: the driver may receive a packet in several buffers. */
bool port_chains(uint16_t port);
/* Source addresses of ICMP errors, for workers. Valid until dataplane_fini(). */
const struct icmp_sources *port_icmp_sources(void);
/*
 * Pool for packets of this router. Created at the first call, by main. NULL: no memory. The host
 * thread allocates from this pool and may be preempted in the middle: consumers of an mp/mc ring
 * proceed in turn, so workers allocating from the pool would wait.
 */
struct rte_mempool *port_own_pool(void);
/* Taken by a worker for one burst. On a cache line of its own. */
struct tx_lock {
	alignas(CACHE_LINE) _Atomic bool held;
};
/* The place of a queue in ethdev: an AF_XDP port has a device for each queue. */
struct port_queue {
	uint16_t ethdev, queue;
};
struct port_queue port_rx_queue(uint16_t port, unsigned queue);
/* The transmit queue of a worker. *lock: NULL, or taken while the queue is used. */
struct port_queue port_tx_queue(uint16_t port, unsigned worker, struct tx_lock **lock);
/* The main lcore is 0, worker i is lcore i + 1. */
unsigned dataplane_worker_count(void);
unsigned dataplane_worker_cpu(unsigned worker);
/*
 * keelfwd and keeld (dataplane/process/forwarder.h): the ports of keelfwd, and in keeld the use of those
 * ports. NULL: no more. Until then the functions of port.h read them and leave changes to keelfwd.
 */
struct dataplane;
const struct dataplane *dataplane_address(void);
void dataplane_adopt(const struct dataplane *d);
/* The ports of the adopted memory are PORT_FAILED: their keelfwd has ended. */
void dataplane_lost(bool lost);
/* A number for the layout of struct dataplane and its ports. */
size_t port_layout(void);
/* Removes an incomplete UTF-8 character at the end of a shortened text: JSON refuses such a text. */
void text_end(char *text);
/* Writes the text to `err` (may be NULL) and returns rc. */
int dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
