/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/forwarding.h"
#include "control/rights.h"

#include "control/apply/apply.h"
#include "control/base/log.h"
#include "control/base/threads.h"
#include "control/session/session.h"
#include "control/wiring.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/worker.h"
#include "lpm/fib.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/beside.h"
#include "lpm/base/region.h"
#include "rib/feed/fib_feed.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* After an adoption: interval of the checks for complete tables. */
#define READY_POLL_NS 50000000u
#define READY_LEAST_NS 1000000000u /* for the first dump of the kernel's neighbours */
/*
 * Longest wait for the peers that had a session when the keeld before ended, since that end: as long as
 * graceful restart promised to the peers (RFC 4724 4.1; RESTART_TIME_S of control/session). A peer without a
 * session then is not awaited.
 */
#define READY_MOST_NS 120000000000u
/* After a longer pause: for sessions and tables, before the old tables are replaced. */
#define READY_RETURN_NS 60000000000u

/* After the end of keelfwd: interval of the attempts to reach the next one, and the longest wait. */
#define RETURN_POLL_NS 20000000u
#define RETURN_MOST_NS 10000000000u
/* A keelfwd that ends earlier after its publication leaves less of that wait to the next one. */
#define RETURN_LAST_NS 30000000000u

struct forwarding {
	struct keeld *k;
	struct timer ready;
	struct timer again; /* awaits the next keelfwd, or its late publication */
	struct watch ended; /* keelfwd has ended */
	uint64_t opened_ns, published_ns;
	uint64_t lost_ns; /* the wait for the next keelfwd began; 0: none has ended */
	/* 1 + the journal entry that the tables have to reach; 0: the RIB is not ready */
	uint64_t awaited;
	struct waited {
		struct vrf_id vrf;
		struct ip_addr addr;
		enum speaker_awaited how;
	} * waited; /* peers with a session at the end of the keeld before */
	unsigned waited_count;
	unsigned worker_count;
	unsigned reader[QSBR_READERS_MAX]; /* of layers.workers, for each worker of keelfwd */
};

/* ---- ports ---- */

/* In a build folder each program is in the folder of its room. */
static int
find_keelfwd(char path[PATH_MAX])
{
	return beside("keelfwd", path) == 0 ? 0 : beside("../dataplane/keelfwd", path);
}

static void
warn_mtu(uint16_t port)
{
	if (port_mtu_own(port) > port_mtu(port))
		log_event(LOG_WARNING,
			"port-mtu port=%s interface=%u device=%u text=\"the device drops "
			"frames that are longer than its MTU; set the MTU of the "
			"interface to that of the device\"",
			port_name(port), port_mtu_own(port), port_mtu(port));
}

int
forwarding_namespace(struct keeld *k, const struct config *c, struct port_config *p)
{
	char iface[PORT_NAME_MAX];
	int e;

	port_interface(p, iface);
	e = apply_netns_of_port(k->apply, c, p->vrf, iface, &p->netns);
	if (e != 0)
		log_event(LOG_ERROR, "port-failed port=%s error=\"%s\" text=\"%s\"", p->name,
			strerrordesc_np(-e),
			p->netns == NULL ? "no network namespace for the VPN instance"
					 : "the interface cannot be moved into the namespace");
	return p->netns == NULL ? 0 : e;
}

/* Logs an error with a text. Returns the error. */
static int
failed(int e, const struct dataplane_error *err)
{
	if (err->text[0] != '\0')
		log_event(LOG_ERROR, "forwarder-failed error=\"%s\" text=\"%s\"",
			strerrordesc_np(-e), err->text);
	return e;
}

static void
log_up(const struct keeld *k) RUNS_ON(role_main)
{
	const struct forwarder_state *s = forwarder_state(k->forwarder);

	log_event(LOG_INFO,
		"forwarder-up pid=%u socket=%s adopted=%s replaced=%s alone_s=%u repairs=%u",
		s->pid, k->forwarder_socket, s->adopted ? "yes" : "no", s->replaced ? "yes" : "no",
		s->alone_s, s->repairs);
}

void
forwarding_ports(const struct config *c, struct port_config *ports)
{
	for (unsigned i = 0; i < c->port_count; i++) {
		const struct config_port *p = &c->ports[i];

		ports[i] = (struct port_config){.name = p->name,
			.device = p->device,
			.vrf = p->vrf,
			.mpls = p->mpls,
			.mtu = p->mtu,
			.queues = p->queues,
			.queue_workers = p->queue_workers,
			.queue_worker_count = p->queue_worker_count,
			.host_path = true};
	}
}

static struct dataplane_config
dataplane_of(const struct config *c)
{
	return (struct dataplane_config){
		.worker_cpus = c->dataplane.worker_cpus,
		.worker_count = c->dataplane.worker_count,
		.control_cpus = c->dataplane.control_cpus,
		.control_count = c->dataplane.control_count,
		.memory_mb = c->dataplane.memory_mb,
		.eal_args = c->dataplane.eal_args,
		.eal_arg_count = c->dataplane.eal_arg_count,
		.host_limits = c->dataplane.policing,
	};
}

int
forwarding_change(struct keeld *k, const struct config *next, const struct port_config *ports,
	unsigned count, uint64_t until_ns, unsigned *failed, struct dataplane_error *err)
{
	struct dataplane_config d = dataplane_of(next);
	struct forwarder_config c = {
		.dataplane = &d, .ports = ports, .port_count = count, .until_ns = until_ns};

	return forwarder_ports(k->forwarder, &c, failed, err);
}

/* Opens keelfwd; `again`: begins the start of the next keelfwd, which forwarder_reach() has reached. 0, -errno. */
static int
open_ports(struct keeld *k, bool again, struct dataplane_error *err) RUNS_ON(role_main)
{
	const struct config *running = apply_running(k->apply);
	struct dataplane_config d = dataplane_of(running);
	struct port_config ports[PORTS_MAX];
	char program[PATH_MAX];
	struct forwarder_config c = {.socket = k->forwarder_socket,
		.program = find_keelfwd(program) == 0 ? program : NULL,
		.user = k->forwarder_user,
		.permits = k->permits,
		.permit_count = k->permit_count,
		.trusted = k->file_trusted,
		.dataplane = &d,
		.ports = ports,
		.port_count = running->port_count,
		.instances = keeld_uses_namespaces(k),
		.remains = &k->stays};
	int e = 0;

	forwarding_ports(running, ports);
	for (unsigned i = 0; i < running->port_count && e == 0; i++)
		e = forwarding_namespace(k, running, &ports[i]);
	if (e != 0)
		return e;
	return again ? forwarder_return(k->forwarder, &c, err)
		     : forwarder_open(&c, &k->forwarder, err);
}

int
forwarding_open(struct keeld *k)
{
	const struct config *c = apply_running(k->apply);
	const struct forwarder_state *s;
	struct dataplane_error err = {""};
	int e = open_ports(k, false, &err);

	if (e != 0)
		return failed(e, &err);
	log_up(k);
	for (uint16_t port = 0; port < port_count(); port++)
		warn_mtu(port);
	s = forwarder_state(k->forwarder);
	log_event(LOG_INFO, "dataplane-up dpdk=\"%s\" hugepages=%s ports=%u", s->dpdk,
		s->huge ? "yes" : "no", c->port_count);
	return 0;
}

/* ---- workers ---- */

static struct workers_config
workers_of(const struct keeld *k) RUNS_ON(role_main)
{
	const struct config *c = apply_running(k->apply);

	return (struct workers_config){
		.fib = fib_reader(k->layers.fib),
		.path_lists = fib_path_lists(k->layers.fib),
		.qsbr = k->layers.workers,
		.count = c->dataplane.worker_count,
		.ecmp_key = c->dataplane.ecmp_key,
		.mpls_pipe = c->dataplane.mpls_pipe,
		.idle_adaptive = c->dataplane.idle_adaptive,
		.forward_source_routes = c->dataplane.forward_source_routes,
		.readers = k->forwarding->reader,
	};
}

static int
publish(struct keeld *k) RUNS_ON(role_main)
{
	struct dataplane_error err = {""};
	struct workers_config w = workers_of(k);
	int e = forwarder_publish(k->forwarder, &w, &err);

	if (e == -EAGAIN)
		return e;
	if (e != 0) {
		log_event(LOG_ERROR, "publication-failed error=\"%s\" text=\"%s\"",
			strerrordesc_np(-e), err.text);
		return e;
	}
	k->forwarding->published_ns = now_ns();
	log_event(LOG_INFO, "forwarder-published after_ms=%llu generation=%llu",
		(unsigned long long)((k->forwarding->published_ns - k->forwarding->opened_ns) /
				     1000000u),
		(unsigned long long)fib_generation(k->layers.fib));
	return 0;
}

struct reached_call {
	struct fib_feed *feed;
	uint64_t sequence;
	bool reached;
};

static void
on_fib_reached(void *arg) RUNS_ON(role_fib)
{
	struct reached_call *c = arg;

	c->reached = fib_feed_reached(c->feed, c->sequence);
}

struct complete_call {
	struct speaker *speaker;
	const struct forwarding *f;
	bool complete;
};

static enum speaker_awaited
is_waited(void *ctx, struct vrf_id vrf, const struct ip_addr *addr)
{
	const struct forwarding *f = ctx;

	for (unsigned i = 0; i < f->waited_count; i++)
		if (f->waited[i].vrf.v == vrf.v && addr_equal(&f->waited[i].addr, addr))
			return f->waited[i].how;
	return NOT_AWAITED;
}

static void
on_session_complete(void *arg) RUNS_ON(role_session)
{
	struct complete_call *c = arg;

	/* main waits for this call */
	c->complete = speaker_restart_complete(c->speaker, is_waited, (void *)(uintptr_t)c->f);
}

static void
on_session_restart_end(void *arg) RUNS_ON(role_session)
{
	speaker_restart_end(arg);
}

static void
on_session_restart_cancel(void *arg) RUNS_ON(role_session)
{
	speaker_restart_cancel(arg);
}

void
forwarding_leave(struct keeld *k)
{
	const struct forwarder_state *s;

	if (k->forwarder == NULL)
		return;
	/* a keelfwd started by a keeld has no supervisor; a failed start ends no adopted keelfwd */
	s = forwarder_state(k->forwarder);
	k->stays = !s->own || (k->failed && s->adopted);
	if ((k->leaves || k->failed || !k->stays) && k->layers.session_thread != NULL)
		layers_call_session(&k->layers, on_session_restart_cancel, k->layers.speaker);
}

/* keeld ends with an error, and its supervisor starts a new keeld. */
static void
give_up(struct keeld *k) RUNS_ON(role_main)
{
	k->failed = true;
	thread_quit(k->layers.main_thread);
}

/* All peers have sent their tables, and the shards have decided all prefixes, or the time is over. */
static bool
rib_ready(struct keeld *k) RUNS_ON(role_main)
{
	struct complete_call peers = {.speaker = k->layers.speaker, .f = k->forwarding};
	uint64_t now = now_ns();

	if (now - k->forwarding->opened_ns < READY_LEAST_NS)
		return false;
	if (now - forwarder_state(k->forwarder)->gone_ns >= READY_MOST_NS &&
		now - k->forwarding->opened_ns >= READY_RETURN_NS)
		return true;
	layers_call_session(&k->layers, on_session_complete, &peers);
	return peers.complete;
}

/*
 * The tables have all that was decided when the RIB became ready; later changes come without an end.
 */
static bool
tables_ready(struct keeld *k) RUNS_ON(role_main)
{
	struct forwarding *f = k->forwarding;
	struct reached_call c = {.feed = k->layers.feed};

	if (f->awaited == 0 && rib_ready(k))
		f->awaited = journal_reserved(shard_journal(k->layers.shards.at[0])) + 1;
	if (f->awaited == 0)
		return false;
	c.sequence = f->awaited - 1;
	layers_call_fib(&k->layers, on_fib_reached, &c);
	return c.reached;
}

static void
ready_poll(struct timer *t) RUNS_ON(role_main)
{
	struct forwarding *f =
		(struct forwarding *)(void *)((char *)t - offsetof(struct forwarding, ready));
	int e = tables_ready(f->k) ? publish(f->k) : -EAGAIN;

	if (e == 0)
		layers_call_session(&f->k->layers, on_session_restart_end, f->k->layers.speaker);
	else if (e == -EAGAIN)
		e = timer_arm(f->k->layers.main_thread, t, READY_POLL_NS);
	if (e != 0)
		give_up(f->k);
}

/* ---- the end of keelfwd ---- */

static int watch_end(struct keeld *k) RUNS_ON(role_main);

/* Registers the workers of keelfwd as readers of the tables. 0, -errno. */
static int
add_readers(struct keeld *k) RUNS_ON(role_main)
{
	unsigned count = apply_running(k->apply)->dataplane.worker_count;
	struct forwarding *f = k->forwarding;
	int e = 0;

	for (; f->worker_count < count && e == 0; f->worker_count += e == 0)
		e = qsbr_register(k->layers.workers, &f->reader[f->worker_count]);
	return e;
}

/* The workers have ended, perhaps in the middle of a burst: grace periods do not wait for them. */
static void
remove_readers(struct keeld *k)
{
	struct forwarding *f = k->forwarding;

	for (; f->worker_count > 0; f->worker_count--) {
		qsbr_offline(k->layers.workers, f->reader[f->worker_count - 1]);
		qsbr_unregister(k->layers.workers, f->reader[f->worker_count - 1]);
	}
}

/* The fib thread reads the memory of keelfwd, too, and waits while the host thread exchanges the memory. */
struct swap {
	struct keeld *k;
	struct dataplane_error err;
	int result;
};

static void
on_swap(void *arg) RUNS_ON(role_host)
{
	struct swap *s = arg;

	s->result = forwarder_swap(s->k->forwarder, &s->err);
}

static int
swap_memory(struct keeld *k) RUNS_ON(role_main)
{
	struct swap s = {.k = k};
	int e = layers_call_host_alone(&k->layers, on_swap, &s);

	return e != 0 ? e : failed(s.result, &s.err);
}

/* The next keelfwd gets the ports. 0; -EAGAIN: not yet; -errno (logged). */
static int
attach_again(struct keeld *k) RUNS_ON(role_main)
{
	struct dataplane_error err = {""};
	int e = forwarder_reach(k->forwarder, k->forwarder_socket, &err);

	if (e == 0)
		e = open_ports(k, true, &err);
	if (e >= 0)
		e = forwarder_returned(k->forwarder, &err);
	if (e != 0)
		return failed(e, &err);
	log_up(k);
	e = swap_memory(k);
	if (e == 0)
		e = add_readers(k);
	if (e == 0)
		e = watch_end(k);
	if (e == 0)
		wiring_ports_again(k);
	else
		log_event(LOG_ERROR, "forwarder-failed error=\"%s\" text=\"cannot be used\"",
			strerrordesc_np(-e));
	return e;
}

/* ... and the tables, also while sessions of the former keeld are awaited: until then no worker forwards. */
static int
publish_again(struct keeld *k) RUNS_ON(role_main)
{
	int e = publish(k);

	if (e == 0)
		layers_call_session(&k->layers, on_session_restart_end, k->layers.speaker);
	else if (e != -EAGAIN && forwarder_has_ended(k->forwarder))
		e = 0; /* the watch calls forwarder_ended() */
	return e;
}

static void
again_poll(struct timer *t) RUNS_ON(role_main)
{
	struct forwarding *f =
		(struct forwarding *)(void *)((char *)t - offsetof(struct forwarding, again));
	bool late = f->lost_ns != 0 && now_ns() - f->lost_ns >= RETURN_MOST_NS &&
		    !forwarder_starts(f->k->forwarder);
	int e = late ? -ETIMEDOUT : forwarding_lost(f->k) ? attach_again(f->k) : 0;

	if (e == 0)
		e = publish_again(f->k);
	if (late)
		log_event(LOG_ERROR,
			"forwarder-failed error=\"%s\" text=\"nothing has forwarded for %llu s: no "
			"keelfwd listens again at %s, or each one ends soon\"",
			strerrordesc_np(-e), (unsigned long long)(RETURN_MOST_NS / 1000000000u),
			f->k->forwarder_socket);
	else if (e == -EAGAIN)
		e = timer_arm(f->k->layers.main_thread, t, RETURN_POLL_NS);
	if (e != 0)
		give_up(f->k);
}

/*
 * The wait includes the waits after former ends, unless keelfwd has forwarded for long: tables that end one
 * keelfwd may end each.
 */
static uint64_t
lost_since(const struct forwarding *f, uint64_t now) RUNS_ON(role_main)
{
	uint64_t forwarded =
		forwarder_state(f->k->forwarder)->published ? now - f->published_ns : 0;

	return f->lost_ns == 0 || forwarded >= RETURN_LAST_NS ? now : f->lost_ns + forwarded;
}

/*
 * A supervisor starts the next keelfwd, and keeld gives ports and tables to the next keelfwd. Without a
 * supervisor keeld ends, and the peers choose other paths. The workers of a keelfwd that refuses the connection
 * may read the tables.
 */
static void
forwarder_ended(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct forwarding *f =
		(struct forwarding *)(void *)((char *)w - offsetof(struct forwarding, ended));
	struct keeld *k = f->k;

	(void)events;
	(void)watch_set(k->layers.main_thread, w, 0);
	log_event(LOG_ERROR, "forwarder-ended pid=%u", forwarder_state(k->forwarder)->pid);
	if (!forwarder_has_ended(k->forwarder)) {
		give_up(k);
		return;
	}
	f->opened_ns = now_ns();
	f->lost_ns = lost_since(f, f->opened_ns);
	timer_cancel(k->layers.main_thread, &f->ready);
	timer_cancel(k->layers.main_thread, &f->again);
	remove_readers(k);
	forwarder_lost(k->forwarder);
	f->ended.fd = -1; /* closed */
	wiring_ports_lost(k);
	again_poll(&f->again);
}

bool
forwarding_lost(const struct keeld *k)
{
	return k->forwarder != NULL && forwarder_state(k->forwarder)->lost;
}

static int
watch_end(struct keeld *k)
{
	k->forwarding->ended =
		(struct watch){.fd = forwarder_fd(k->forwarder), .ready = forwarder_ended};
	/* an answer may be late */
	return watch_set(k->layers.main_thread, &k->forwarding->ended, EPOLLRDHUP);
}

/* Begins to await the end of keelfwd. 0, -errno. */
static int
watch_forwarder(struct keeld *k) RUNS_ON(role_main)
{
	struct forwarding *f = calloc(1, sizeof(*f));
	int e;

	if (f == NULL)
		return -ENOMEM;
	k->forwarding = f;
	f->k = k;
	f->opened_ns = now_ns();
	f->ready.fire = ready_poll;
	f->again.fire = again_poll;
	e = add_readers(k);
	return e == 0 ? watch_end(k) : e;
}

static int
find_waited(struct keeld *k) RUNS_ON(role_main)
{
	const struct config *c = apply_running(k->apply);
	struct forwarding *f = k->forwarding;

	f->waited = calloc(c->peer_count + 1, sizeof(*f->waited));
	for (unsigned i = 0; f->waited != NULL && i < c->peer_count; i++) {
		const struct config_peer *p = &c->peers[i];
		bool on_link;

		/* also without an answer */
		if (forwarder_had_session(p->vrf, &p->addr, &on_link) != 0)
			f->waited[f->waited_count++] = (struct waited){
				p->vrf, p->addr, on_link ? AWAITED_ON_LINK : AWAITED};
	}
	return f->waited != NULL ? 0 : -ENOMEM;
}

int
forwarding_start(struct keeld *k)
{
	bool inherited = forwarder_state(k->forwarder)->inherited;
	int e = watch_forwarder(k);

	if (e == 0 && inherited)
		e = find_waited(k);
	if (e == 0 && inherited)
		e = timer_arm(k->layers.main_thread, &k->forwarding->ready, READY_POLL_NS);
	if (e != 0) {
		log_event(LOG_ERROR, "forwarder-failed error=\"%s\" text=\"cannot be watched\"",
			strerrordesc_np(-e));
		return e;
	}
	e = inherited ? 0 : publish(k);
	return e == -EAGAIN
		       ? timer_arm(k->layers.main_thread, &k->forwarding->again, RETURN_POLL_NS)
		       : e;
}

void
forwarding_stop(struct keeld *k)
{
	if (k->forwarding == NULL)
		return;
	/*
	 * The workers of keelfwd keep the tables. The private copy, without readers, is destroyed
	 * by wiring_destroy().
	 */
	if (region_detach(forwarder_region(k->forwarder)) != 0)
		_exit(EXIT_FAILURE);
	remove_readers(k);
	timer_cancel(k->layers.main_thread, &k->forwarding->ready);
	timer_cancel(k->layers.main_thread, &k->forwarding->again);
	(void)watch_set(k->layers.main_thread, &k->forwarding->ended, 0);
}

void
forwarding_close(struct keeld *k)
{
	if (k->forwarding != NULL)
		free(k->forwarding->waited);
	free(k->forwarding);
	k->forwarding = NULL;
	forwarder_close(k->forwarder, !k->stays);
	k->forwarder = NULL;
}
