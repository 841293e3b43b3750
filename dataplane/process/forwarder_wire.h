/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol between keeld and keelfwd: requests and answers over a Unix socket of type
 * SOCK_SEQPACKET, one message each, in the host's byte order. keeld opens three connections, each
 * begins with FORWARDER_HELLO:
 *
 *   main    keeld's main thread. START gives the configuration; the answer has the descriptors of
 *           both regions. PUBLISH gives the first generation. The end of this connection is the end
 *           of keeld: workers continue with the last generation.
 *   host    keeld's host thread
 *   events  keelfwd sends the neighbours that workers ask for; nothing is answered
 *
 * FORWARDER_HELLO, FORWARDER_STOP and the answers have a fixed layout, so a keeld of any version can
 * replace a keelfwd of any version. Only root and the user of keeld may connect. All further messages, and the structures in the regions, belong
 * to an ABI: without equal forwarder_abi() keeld and keelfwd share no memory.
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#define FORWARDER_MAGIC 0x4b465744u /* "KFWD" */
#define FORWARDER_CONFIG_MAX 65536u /* bytes of a configuration */
#define FORWARDER_FDS_MAX (PORTS_MAX + 1) /* descriptors of a message: namespaces, tables */
/* Of a port, in a change of ports: flags that keelfwd does not keep (struct port_config). */
#define FORWARDER_CHANGE "change="

enum forwarder_type {
	FORWARDER_HELLO = 1,
	FORWARDER_STOP, /* end of keelfwd, its ports too */
	/*
	 * Followed by the configuration: strings `key=value`, each with its NUL. An adopted keelfwd must
	 * have the same configuration. With the descriptors of the network namespaces of VPN instances:
	 * `netns=N` of a port is the place of its namespace among them.
	 */
	FORWARDER_START,
	FORWARDER_PUBLISH,
	FORWARDER_COUNTERS,
	FORWARDER_HOST_COUNTERS,
	FORWARDER_DRIVER_COUNTERS, /* answered by struct forwarder_drivers */
	FORWARDER_PEER,
	FORWARDER_SESSION, /* a peer got or lost its session */
	/* answered by `changed`: at the end of the keeld before; 1: a session, 2: with a peer on a link */
	FORWARDER_HAD_SESSION,
	/* keeld sets its addresses again; with `present`: keelfwd removes the addresses that were not set */
	FORWARDER_REPEAT,
	FORWARDER_REFRESH,
	FORWARDER_LOCAL_ADDRESS,
	FORWARDER_ANYCAST, /* the zone of the address is the number of the port */
	FORWARDER_ICMP_SOURCE,
	FORWARDER_TUNNELS, /* followed by the own addresses of the tunnels */
	FORWARDER_NETLINK, /* followed by a message for the kernel; host_netlink.h */
	FORWARDER_SETTING, /* followed by a path and a value, each with its NUL; host_setting.h */
	FORWARDER_PORTS, /* followed by the configuration with changed ports, as FORWARDER_START */
	FORWARDER_GLEANS, /* event */
};

enum forwarder_role {
	FORWARDER_MAIN,
	FORWARDER_HOST,
	FORWARDER_EVENTS,
	FORWARDER_ASK, /* asks for FORWARDER_HELLO's answer only; the only role that may change */
	FORWARDER_ROLES,
};

struct forwarder_header {
	uint32_t magic;
	uint32_t type; /* enum forwarder_type; an answer has the type of its request */
};

struct forwarder_hello {
	uint64_t abi;
	uint32_t role; /* enum forwarder_role */
};

struct forwarder_hello_answer {
	int32_t result; /* 0; -EBUSY: the role belongs to another connection */
	uint32_t pid;
	uint64_t abi;
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	uint32_t running; /* ports and workers exist */
	uint32_t attached; /* a keeld is connected */
	uint32_t publications; /* since the start: how often the workers changed tables */
	char version[32];
	uint32_t own; /* started by a keeld; 0 from a keelfwd of an earlier version */
};
static_assert(sizeof(struct forwarder_hello_answer) == 72, "as in earlier versions");

/* Not a part of the configuration: a keelfwd that runs is adopted in both cases. */
struct forwarder_start {
	uint32_t instances; /* keelfwd keeps the right to enter network namespaces */
	/* The tables of a keeld whose keelfwd has ended: the last descriptor. 0: keelfwd makes the region. */
	uint32_t table_place;
	uint64_t table_bytes;
};

/* With descriptors: the region of keelfwd (read-only for keeld); then a new region for tables, without table_place. */
struct forwarder_start_answer {
	int32_t result; /* 0; -EXDEV: keelfwd has another configuration; -errno with `text` */
	uint32_t adopted; /* the ports existed already */
	uint32_t published; /* the workers have tables of an earlier keeld */
	uint32_t huge;
	uint64_t state_bytes, table_bytes;
	uint32_t table_place; /* lpm/base/region.h */
	uint64_t dataplane, workers; /* addresses in the region of keelfwd; workers 0: none yet */
	uint64_t gone_ns; /* CLOCK_MONOTONIC: the end of the keeld before; 0: none */
	uint32_t repairs; /* of links, since then */
	char text[256];
	char dpdk[32]; /* version */
};

/* Addresses in the region of keeld's tables. */
struct forwarder_publish {
	uint64_t fib, path_lists, qsbr;
	uint32_t worker_count;
	uint32_t ecmp_key; /* 0: the key of keelfwd, drawn once and kept in its folder */
	uint32_t mpls_pipe, idle_adaptive, forward_source_routes;
	uint32_t reader[128]; /* for each worker */
};
/*
 * True if the objects in `p` lie inside the region of tables, with a reader's handle for each worker.
 * fib_reader_bound() and path_lists_bound() then check the pointers in the objects.
 */
bool forwarder_publish_inside(
	const struct forwarder_publish *p, const void *region, size_t region_bytes);

struct forwarder_publish_answer {
	int32_t result;
	uint64_t workers;
	char text[256];
};

struct forwarder_ports_answer {
	int32_t result;
	uint32_t failed; /* as in port_set.h */
	char text[256];
};

struct forwarder_port {
	uint32_t port;
	uint32_t afi; /* FORWARDER_ICMP_SOURCE: of the source */
	uint32_t
		present; /* FORWARDER_LOCAL_ADDRESS, _PEER: for all ports in `vrf`; _SESSION; _REPEAT */
	uint32_t first; /* FORWARDER_DRIVER_COUNTERS */
	uint32_t on_link; /* FORWARDER_SESSION */
	struct vrf_id vrf;
	struct ip_addr addr;
};

struct forwarder_port_answer {
	int32_t result;
	uint32_t changed; /* FORWARDER_REFRESH; FORWARDER_HOST_COUNTERS: the port has counters */
	struct port_counters counters; /* FORWARDER_COUNTERS */
	struct host_counters host[HOST_CLASSES]; /* FORWARDER_HOST_COUNTERS */
};

#define FORWARDER_DRIVERS_MAX 32
struct forwarder_drivers {
	uint32_t count; /* 0: no further counters */
	struct driver_counter counter[FORWARDER_DRIVERS_MAX];
};

#define FORWARDER_GLEANS_MAX 64
struct forwarder_gleans {
	uint32_t count;
	struct glean glean[FORWARDER_GLEANS_MAX];
};

struct forwarder_message {
	struct forwarder_header head;
	union {
		struct forwarder_hello hello;
		struct forwarder_hello_answer hello_answer;
		struct forwarder_start start;
		struct forwarder_start_answer start_answer;
		struct forwarder_publish publish;
		struct forwarder_publish_answer publish_answer;
		struct forwarder_ports_answer ports_answer;
		struct forwarder_port port;
		struct forwarder_port_answer port_answer;
		struct forwarder_drivers drivers;
		struct forwarder_gleans gleans;
	};
};

#define FORWARDER_STATE_PLACE 0u /* the region of keelfwd; keelds have the other places */

/*
 * A number for the layout of what both processes read. Different numbers: the layouts differ. Equal
 * numbers of different sources: raise FORWARDER_ABI when a meaning changes and no size does.
 */
#define FORWARDER_ABI 13u
uint64_t forwarder_abi(void);
/* The network namespace of this process; `home=` of the configuration. 0: unknown. */
unsigned long forwarder_home(void);

/* Sends a message with up to FORWARDER_FDS_MAX descriptors. Returns 0 or -errno. */
int forwarder_send(int fd, const struct forwarder_message *m, size_t body, const void *tail,
	size_t tail_bytes, const int *fds, unsigned fd_count);
/*
 * Receives a message: the head and body into `m`, further bytes into `tail`. Descriptors beyond
 * fd_max are closed. *body: bytes after the head. Returns 0; -EPIPE: the other process has closed
 * the connection; -EPROTO: not a message; -EMFILE: no room for its descriptors; -errno.
 */
int forwarder_receive(int fd, struct forwarder_message *m, size_t *body, void *tail,
	size_t tail_max, size_t *tail_bytes, int *fds, unsigned fd_max, unsigned *fd_count);
