/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keeld's side of keelfwd, the process with EAL, ports and workers. keeld connects to keelfwd, or
 * starts one. The functions of port_read.c and worker_read.c then read the memory of keelfwd, and
 * changes are requests to keelfwd. keelfwd outlives keeld: a later keeld adopts it.
 *
 * Owner: main, except where noted. A process has at most one forwarder.
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"
#include "lpm/base/base.h"

struct forwarder;
struct region;

struct forwarder_config {
	const char *socket; /* where keelfwd listens; outlives the forwarder */
	const char *program; /* started if no keelfwd listens */
	const char *user; /* of keelfwd; NULL: that of keeld, or root if keeld may become root */
	/* what keelfwd may be asked for (dataplane/process/permit.h), by the command line of keeld */
	const char *const *permits;
	unsigned permit_count;
	bool trusted; /* eal_args and devices of the document are permitted, too */
	const struct dataplane_config *dataplane;
	const struct port_config *ports;
	unsigned port_count;
	bool instances; /* keelfwd keeps the right to enter network namespaces; for forwarder_open() */
	uint64_t until_ns; /* CLOCK_MONOTONIC: longest wait of forwarder_ports() */
	bool *remains; /* set by a failure of forwarder_open(): a keelfwd may forward */
};

/*
 * Connects to keelfwd, or starts keelfwd as a process that outlives keeld; then opens the ports, or adopts
 * the open ports. A keelfwd with another configuration, or of another ABI, is replaced: its
 * ports close, and packets are lost. Returns 0, or -errno with `err`.
 */
int forwarder_open(
	const struct forwarder_config *c, struct forwarder **out, struct dataplane_error *err);
/*
 * Ends the connections. keelfwd continues, with the last published tables; `ends`: keelfwd closes its
 * ports and ends.
 */
void forwarder_close(struct forwarder *f, bool ends);

/* Memory for tables, which keelfwd maps, too. Belongs to `f`. */
struct region *forwarder_region(const struct forwarder *f);
#define FORWARDER_ENDS 3
struct forwarder_state {
	unsigned pid;
	bool own; /* started by a keeld, and not by a supervisor */
	bool adopted; /* the ports were open already */
	bool inherited; /* workers had tables of an earlier keeld */
	bool published; /* workers use the tables of this keeld */
	uint64_t gone_ns; /* CLOCK_MONOTONIC: the end of the keeld before; 0: none */
	unsigned alone_s,
		repairs; /* from then to the adoption: seconds; repairs of links by keelfwd */
	_Atomic bool lost; /* keelfwd has ended: forwarder_lost() */
	unsigned ends; /* how often keelfwd has ended */
	/* CLOCK_MONOTONIC: the last ends; [ends % FORWARDER_ENDS]: the oldest */
	uint64_t ended_ns[FORWARDER_ENDS];
	bool replaced; /* a keelfwd with other ports or another ABI was ended */
	bool huge; /* keelfwd uses huge pages */
	char dpdk[32]; /* version, for people */
};
const struct forwarder_state *forwarder_state(const struct forwarder *f);
/* The state of the forwarder of this process; NULL: none. */
const struct forwarder_state *forwarder_current(void);
/*
 * The workers use the tables of `c` from now on. On return no worker uses the tables of an earlier
 * keeld. `c->readers` is needed. Returns 0; -EAGAIN: not yet, because an answer of keelfwd is late:
 * the caller calls again, with the same `c`; or -errno with `err`.
 */
int forwarder_publish(
	struct forwarder *f, const struct workers_config *c, struct dataplane_error *err);
/*
 * keelfwd opens and closes ports for `c`; the other members are as in forwarder_open(). Returns 0, or
 * -errno with `err` and *failed: see port_set.h.
 */
int forwarder_ports(struct forwarder *f, const struct forwarder_config *c, unsigned *failed,
	struct dataplane_error *err);
/* Hangs up when keelfwd has ended, or refuses the connection. Readable also after a late answer. */
int forwarder_fd(const struct forwarder *f);
/* After a connection has closed: true if the process has ended, also by a kill. Any thread. */
bool forwarder_has_ended(const struct forwarder *f);
/*
 * After the end of keelfwd, in this order; none waits for keelfwd. forwarder_lost(): the ports are PORT_FAILED.
 * forwarder_reach(): connects to the next keelfwd; 1: that starts already. forwarder_return(): the next keelfwd begins
 * to open the ports of `c`, with the tables of this keeld. forwarder_returned(): that has ended.
 * forwarder_swap(): the functions of port_read.c and worker_read.c read the memory of the next keelfwd, and the
 * host thread is connected; no other thread may call these functions meanwhile. 0; -EAGAIN: not yet, or the next
 * keelfwd has ended, too: again from forwarder_reach(); -errno with `err`. forwarder_publish().
 */
void forwarder_lost(struct forwarder *f);
int forwarder_reach(struct forwarder *f, const char *socket, struct dataplane_error *err);
int forwarder_return(
	struct forwarder *f, const struct forwarder_config *c, struct dataplane_error *err);
int forwarder_returned(struct forwarder *f, struct dataplane_error *err);
/* True between forwarder_return() and its end, and while the answer of a publication is late. */
bool forwarder_starts(const struct forwarder *f);
int forwarder_swap(struct forwarder *f, struct dataplane_error *err) RUNS_ON(role_host);

/* ---- requests of a process with a forwarder; keelfwd calls the function of the same name ---- */

/* Main: counters of a port (dataplane/forward/stats.h). 0, -errno. */
int forwarder_counters(uint16_t port, struct port_counters *out);
/* Main: false: a request would wait for long, or keelfwd has ended. */
bool forwarder_answers(void);
/*
 * Main: true once after requests of main or the host thread were not sent, because many answers were late. No
 * answer to main is late now, and the caller repeats the requests.
 */
bool forwarder_missed(struct forwarder *f);
/*
 * Main: before and after the repetition (`done`). keelfwd then removes addresses and sessions that were not
 * repeated, unless keeld could not send a request of the repetition.
 */
void forwarder_repeat(struct forwarder *f, bool done);
unsigned forwarder_driver_counters(
	uint16_t port, unsigned first, struct driver_counter *out, unsigned max);
bool forwarder_host_counters(uint16_t port, struct host_counters out[HOST_CLASSES]);
void forwarder_peer(struct vrf_id vrf, const struct ip_addr *addr, bool present);
/*
 * Main: which peers have a session, for the next keeld; and had one when the keeld before ended: 0, 1, -errno.
 * `on_link`: the peer is, or was, in a subnet of an interface.
 */
void forwarder_session(struct vrf_id vrf, const struct ip_addr *addr, bool up, bool on_link);
int forwarder_had_session(struct vrf_id vrf, const struct ip_addr *addr, bool *on_link);
int forwarder_refresh(uint16_t port, bool *changed) RUNS_ON(role_host);
/* Joins or leaves an anycast address on a port: packets for it go to the kernel, which answers for it there. */
int forwarder_anycast(uint16_t port, const struct ip_addr *addr, bool present) RUNS_ON(role_host);
int forwarder_local_address(struct vrf_id vrf, const struct ip_addr *addr, bool present)
	RUNS_ON(role_host);
int forwarder_tunnels(const uint32_t *own, unsigned count) RUNS_ON(role_host);
/*
 * keelfwd sends a request to the kernel (host_netlink.h) that keeld has no right for. `on_host`: the
 * caller is the host thread, otherwise main. Returns 0, or -errno of the kernel.
 */
int forwarder_netlink(bool on_host, const void *message, size_t bytes);
/* keelfwd writes a setting of a port's interface (host_setting.h). Main. Returns 0, or -errno. */
int forwarder_setting(const char *path, const char *value);
void forwarder_icmp_source(uint16_t port, enum afi afi, const struct ip_addr *addr)
	RUNS_ON(role_host);
unsigned forwarder_gleans(struct glean *out, unsigned max) RUNS_ON(role_host);
