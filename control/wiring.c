/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/wiring_impl.h"

#include "control/apply/apply.h"
#include "control/apply/audits.h"
#include "control/apply/peers.h"
#include "control/bmp/bmp.h"
#include "control/host/host_check.h"
#include "control/host/host_routes.h"
#include "control/base/log.h"
#include "control/host/netlink.h"
#include "control/rpc/rpc.h"
#include "control/rpki/rpki.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "lpm/base/arena.h"
#include "lpm/base/note_work.h"
#include "lpm/fib.h"
#include "lpm/base/qsbr.h"
#include "lpm/table_v4.h"
#include "lpm/table_v6.h"
#include "rib/feed/fib_feed.h"
#include "rib/feed/nexthop.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/port/port.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RIB_READERS_MAX 16
#define WORKER_READERS_MAX 80
#define JOURNAL_CAPACITY (1u << 20)
#define FIB_BATCH_MAX 4096 /* prefixes per commit */

#define RESERVE_WAIT_NS 1000000

static struct message *
take_reserved(struct wiring *w)
{
	for (unsigned i = 0; i < MESSAGES_RESERVED; i++) {
		/* acquire: pairs with the release in message_free */
		if (!atomic_load_explicit(&w->reserve.taken[i], memory_order_relaxed) &&
			!atomic_exchange_explicit(&w->reserve.taken[i], true, memory_order_acquire))
			return &w->reserve.message[i];
	}
	return NULL;
}

static void
hops_free(const struct message *m)
{
	if (m->kind == MESSAGE_FIB_ROUTE)
		free(m->route.hops);
}

static void
message_free(struct message *m)
{
	struct wiring *w = m->k->wiring;

	hops_free(m);
	if (m->reserved)
		/* release: pairs with the acquire in take_reserved */
		atomic_store_explicit(
			&w->reserve.taken[m - w->reserve.message], false, memory_order_release);
	else
		free(m);
}

/* False: wiring_stop() has begun, and the message is dropped. */
static bool
message_wanted(const struct message *m)
{
	return !atomic_load_explicit(&m->k->wiring->stopping, memory_order_relaxed);
}

static void
receive_main_port(struct keeld *k, const struct message_port *p) RUNS_ON(role_main)
{
	if (k->rpc != NULL)
		rpc_event(k->rpc, "port",
			json_pack("{s:s, s:s, s:s, s:s?}", "port", p->name, "state",
				port_state_text((enum port_state)p->state), "was",
				port_state_text((enum port_state)p->was), "reason",
				p->state != PORT_UP ? p->reason : NULL));
}

static void
on_main_message(void *arg) RUNS_ON(role_main)
{
	struct message *m = arg;

	if (message_wanted(m)) {
		if (m->kind == MESSAGE_MAIN_LINK)
			receive_main_link(m->k, &m->link);
		else if (m->kind == MESSAGE_MAIN_ADDRESS)
			receive_main_address(m->k, &m->address);
		else if (m->kind == MESSAGE_MAIN_ROUTE)
			receive_main_route(m->k, &m->route);
		else if (m->kind == MESSAGE_MAIN_STATIC)
			host_routes_static(m->k->host_routes, m->route.vrf, &m->route.prefix,
				m->route.present);
		else if (m->kind == MESSAGE_MAIN_PORT)
			receive_main_port(m->k, &m->port);
	}
	message_free(m);
}

static void receive_fib_watch(struct message *m) RUNS_ON(role_fib);

static void
on_fib_message(void *arg) RUNS_ON(role_fib)
{
	struct message *m = arg;

	if (message_wanted(m)) {
		if (m->kind == MESSAGE_FIB_WATCH) {
			receive_fib_watch(m);
			return; /* kept until the feed has memory */
		}
		if (m->kind == MESSAGE_FIB_LINK)
			receive_fib_link(m->k, &m->link);
		else if (m->kind == MESSAGE_FIB_ADDRESS)
			receive_fib_address(m->k, &m->address);
		else if (m->kind == MESSAGE_FIB_ROUTE)
			receive_fib_route(m->k, &m->route);
		else if (m->kind == MESSAGE_FIB_NEIGHBOR)
			receive_fib_neighbor(m->k, &m->neighbor);
	}
	message_free(m);
}

static void
on_rib_message(void *arg) RUNS_ON(role_rib)
{
	struct message *m = arg;

	if (message_wanted(m))
		shard_next_hop(m->k->layers.shards.at[m->next_hop.shard], &m->next_hop.next_hop);
	message_free(m);
}

static void
on_host_message(void *arg) RUNS_ON(role_host)
{
	struct message *m = arg;

	if (message_wanted(m))
		receive_host_resolve(m->k, &m->resolve);
	message_free(m);
}

static void
on_session_message(void *arg) RUNS_ON(role_session)
{
	struct message *m = arg;

	if (message_wanted(m) && m->kind == MESSAGE_SESSION_INTERFACE)
		speaker_interface(m->k->layers.speaker, &m->interface);
	else if (message_wanted(m))
		speaker_address(m->k->layers.speaker, &m->own);
	message_free(m);
}

static void
message_post(struct message *to, const struct message *m, bool reserved)
{
	const struct layers *l = &m->k->layers;

	*to = *m;
	to->reserved = reserved;
	switch (m->kind) {
	case MESSAGE_MAIN_LINK:
	case MESSAGE_MAIN_ADDRESS:
	case MESSAGE_MAIN_ROUTE:
	case MESSAGE_MAIN_STATIC:
	case MESSAGE_MAIN_PORT:
		layers_send_main(l, &to->mail, on_main_message, to);
		break;
	case MESSAGE_FIB_LINK:
	case MESSAGE_FIB_ADDRESS:
	case MESSAGE_FIB_ROUTE:
	case MESSAGE_FIB_NEIGHBOR:
	case MESSAGE_FIB_WATCH:
		layers_send_fib(l, &to->mail, on_fib_message, to);
		break;
	case MESSAGE_RIB_NEXT_HOP:
		layers_send_rib(l, m->next_hop.shard, &to->mail, on_rib_message, to);
		break;
	case MESSAGE_HOST_RESOLVE:
		layers_send_host(l, &to->mail, on_host_message, to);
		break;
	case MESSAGE_SESSION_INTERFACE:
	case MESSAGE_SESSION_ADDRESS:
		layers_send_session(l, &to->mail, on_session_message, to);
		break;
	}
}

/*
 * wiring_send() for a sender with the means to retry. False: no memory; the sender keeps the
 * message.
 */
static bool
wiring_try_send(const struct message *m)
{
	struct message *copy;

	/*
	 * The receiver is ending or has ended: layers still send messages while they are destroyed.
	 */
	if (atomic_load_explicit(&m->k->wiring->stopping, memory_order_relaxed)) {
		hops_free(m);
		return true;
	}
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return false;
	message_post(copy, m, false);
	return true;
}

static void
memory_wait(void)
{
	const struct timespec wait = {.tv_nsec = RESERVE_WAIT_NS};

	note_work("waiting for memory");
	nanosleep(&wait, NULL);
}

void *
wiring_calloc(struct keeld *k, size_t count, size_t size)
{
	void *p;

	while ((p = calloc(count, size)) == NULL &&
		!atomic_load_explicit(&k->wiring->stopping, memory_order_relaxed))
		memory_wait();
	return p;
}

void
wiring_send(const struct message *m)
{
	struct message *spare;

	while (!wiring_try_send(m)) {
		spare = take_reserved(m->k->wiring);
		if (spare != NULL) {
			message_post(spare, m, true);
			return;
		}
		memory_wait();
	}
}

/* ---- rib <-> fib: next hops ---- */

static void
queue_watch(struct wiring *w, struct message *m)
{
	m->next = NULL;
	*w->watch_owed.end = m;
	w->watch_owed.end = &m->next;
}

/* Retries the waiting next hops. True if some still wait for memory. */
static bool
retry_watches(struct keeld *k) RUNS_ON(role_fib)
{
	struct wiring *w = k->wiring;
	struct message *m;

	while ((m = w->watch_owed.first) != NULL &&
		fib_feed_watch(k->layers.feed, &m->watch) == 0) {
		w->watch_owed.first = m->next;
		if (m->next == NULL)
			w->watch_owed.end = &w->watch_owed.first;
		message_free(m);
	}
	return m != NULL;
}

static void
receive_fib_watch(struct message *m)
{
	struct keeld *k = m->k;

	queue_watch(k->wiring, m);
	if (retry_watches(k))
		log_event(LOG_WARNING, "next-hop-waits error=\"%s\"", strerrordesc_np(ENOMEM));
}

static bool
ask_next_hop(void *ctx, const struct nexthop_message *nh)
{
	return wiring_try_send(
		&(struct message){.k = ctx, .kind = MESSAGE_FIB_WATCH, .watch = *nh});
}

static bool
report_next_hop(void *ctx, const struct nexthop_message *nh)
{
	struct keeld *k = ctx;

	/* A shard without a request for this next hop ignores the message. */
	for (unsigned i = 0; i < k->layers.shards.count; i++) {
		if (!wiring_try_send(&(struct message){.k = k,
			    .kind = MESSAGE_RIB_NEXT_HOP,
			    .next_hop = {.shard = i, .next_hop = *nh}}))
			return false;
	}
	return true;
}

/* ---- fib -> main: static routes ---- */

static void
static_changed(void *ctx, struct vrf_id vrf, const struct prefix *p, bool up) RUNS_ON(role_fib)
{
	wiring_send(&(struct message){.k = ctx,
		.kind = MESSAGE_MAIN_STATIC,
		.route = {.vrf = vrf, .prefix = *p, .present = up}});
}

/* ---- fib -> rib: prefixes without room in the forwarding tables ---- */

static void
on_rib_report(void *arg) RUNS_ON(role_rib)
{
	const struct report_context *c = arg;
	struct keeld *k = c->k;

	if (atomic_load_explicit(&k->wiring->stopping, memory_order_relaxed))
		return;
	/* after shard_report() the fib thread owns the context again */
	shard_report(k->layers.shards.at[c->shard], c->report);
	thread_wake(k->layers.fib_thread);
}

static int
report_room(void *ctx, unsigned shard, struct shard_report *r)
{
	struct keeld *k = ctx;

	k->wiring->report[shard] = (struct report_context){.k = k, .shard = shard, .report = r};
	layers_send_rib(&k->layers, shard, &k->wiring->report[shard].mail, on_rib_report,
		&k->wiring->report[shard]);
	return 0;
}

/* ---- session <-> fib: labels of VPN routes with our next hop ---- */

static void
on_session_labels(void *arg) RUNS_ON(role_session)
{
	struct speaker_labels *l = arg;
	struct keeld *k = l->ctx;

	if (!atomic_load_explicit(&k->wiring->stopping, memory_order_relaxed))
		speaker_labels(k->layers.speaker, l);
}

static void
on_fib_labels(void *arg) RUNS_ON(role_fib)
{
	struct speaker_labels *l = arg;
	struct keeld *k = l->ctx;

	if (atomic_load_explicit(&k->wiring->stopping, memory_order_relaxed))
		return;
	fib_feed_swaps(k->layers.feed, l->order, l->count);
	layers_send_session(&k->layers, &l->mail, on_session_labels, l);
}

static void
session_labels(void *ctx, struct speaker_labels *l)
{
	struct keeld *k = ctx;

	layers_send_fib(&k->layers, &l->mail, on_fib_labels, l);
}

/* ---- threads ---- */

static void
fib_due(struct timer *t)
{
	(void)t; /* only wakes the thread: the loop calls work() after timers */
}

static int
fib_start(void *ctx, struct thread *self)
{
	struct fib_context *c = ctx;

	c->self = self;
	c->due.fire = fib_due;
	/* allocates the heap entry, so that later calls cannot fail */
	if (timer_arm(self, &c->due, 0) != 0)
		return -ENOMEM;
	return qsbr_register(c->k->layers.readers, &c->reader);
}

#define OWED_NS 100000000 /* interval between retries after a lack of memory */

static bool
fib_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct fib_context *c = ctx;
	uint64_t wait;
	bool more, owed;

	role_enter_fib();
	wiring_links_apply(c->k);
	owed = retry_watches(c->k);
	owed |= nexthop_report_owed(c->k->layers.nexthops);
	if (owed)
		(void)timer_arm_sooner(c->self, &c->due, OWED_NS);
	more = fib_feed_work(c->k->layers.feed, now, deadline);
	qsbr_quiescent(c->k->layers.readers, c->reader);
	audits_turn(c->k->audits);
	wait = more ? 0 : fib_feed_wait_ns(c->k->layers.feed);
	if (wait != 0)
		timer_arm_sooner(c->self, &c->due, wait);
	return more;
}

static void
fib_idle(void *ctx)
{
	struct fib_context *c = ctx;

	qsbr_offline(c->k->layers.readers, c->reader);
}

static void
fib_busy(void *ctx)
{
	struct fib_context *c = ctx;

	qsbr_online(c->k->layers.readers, c->reader);
}

/*
 * Replaced memory is freed after a grace period: the timer wakes the shard when there is no input.
 */
#define RIB_TIDY_NS 100000000
/*
 * The session thread wakes a shard that waits for consumers. The timer covers a session thread that
 * does not read, or has just read.
 */
#define RIB_PACED_NS 1000000

static void
rib_tidy(struct timer *t)
{
	struct rib_context *c =
		(struct rib_context *)(void *)((char *)t - offsetof(struct rib_context, tidy));

	timer_arm(c->self, t, RIB_TIDY_NS);
}

static void
rib_paced(struct timer *t)
{
	(void)t; /* only wakes the thread: the loop calls work() after timers */
}

static int
rib_start(void *ctx, struct thread *self)
{
	struct rib_context *c = ctx;

	c->self = self;
	c->tidy.fire = rib_tidy;
	c->paced.fire = rib_paced;
	return timer_arm(self, &c->tidy, RIB_TIDY_NS);
}

static bool
rib_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct rib_context *c = ctx;
	struct shard *s = c->k->layers.shards.at[c->shard];

	role_enter_rib();
	if (!shard_work(s, now, deadline))
		return false;
	/* multiplied by the count of shards: the shards wait in turn for a common limit */
	return !shard_waits(s) ||
	       timer_arm(c->self, &c->paced, RIB_PACED_NS * c->k->layers.shards.count) < 0;
}

static bool
rib_help(void *ctx, uint64_t now, uint64_t deadline)
{
	struct rib_context *c = ctx;

	role_enter_rib();
	return shard_help(c->k->layers.shards.at[c->shard], now, deadline);
}

static void
wake_consumers(void *ctx)
{
	struct keeld *k = ctx;

	/*
	 * without forwarding tables the fib thread reads the journal for next hops that may depend on
	 * BGP routes; the fence pairs with nexthop_follows(): the entries come first
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (k->layers.fib != NULL || nexthop_follows(k->layers.nexthops) > 0)
		thread_wake(k->layers.fib_thread);
	thread_wake(k->layers.session_thread);
}

static void
wake_sibling(void *ctx, unsigned shard)
{
	struct keeld *k = ctx;

	thread_wake(k->layers.rib_thread[shard]);
}

static void
wake_shard(void *ctx, unsigned shard, bool here)
{
	struct keeld *k = ctx;

	if (here)
		thread_do(k->layers.rib_thread[shard]);
	else
		wake_sibling(ctx, shard);
}

/* ---- session -> main ---- */

struct event_message {
	struct thread_mail mail;
	struct event_message *next; /* in the list of reserved messages */
	struct keeld *k;
	struct session_event event;
};

static void event_release(void *ctx, unsigned count);

static int
event_reserve(void *ctx, unsigned count)
{
	struct wiring *w = ((struct keeld *)ctx)->wiring;

	for (unsigned i = 0; i < count; i++) {
		struct event_message *m = malloc(sizeof(*m));

		if (m == NULL) {
			event_release(ctx, i);
			return -ENOMEM;
		}
		m->next = w->events_reserved;
		w->events_reserved = m;
	}
	return 0;
}

static struct event_message *
take_event(struct wiring *w)
{
	struct event_message *m = w->events_reserved;

	assert(m != NULL);
	w->events_reserved = m->next;
	return m;
}

static void
event_release(void *ctx, unsigned count)
{
	struct wiring *w = ((struct keeld *)ctx)->wiring;

	while (count-- > 0)
		free(take_event(w));
}

/* The next keeld waits for the peers that have a session when this keeld ends. */
static void
tell_forwarder(const struct keeld *k, const struct session_event *e) RUNS_ON(role_main)
{
	const struct config_peer *p;

	if (k->forwarder == NULL || (e->kind != SESSION_UP && e->kind != SESSION_DOWN))
		return;
	p = peers_config(apply_peers(k->apply), e->peer);
	if (p != NULL)
		forwarder_session(p->vrf, &p->addr, e->kind == SESSION_UP, e->on_link);
}

static void
on_main_session_event(void *arg) RUNS_ON(role_main)
{
	struct event_message *m = arg;

	if (!atomic_load_explicit(&m->k->wiring->stopping, memory_order_relaxed)) {
		tell_forwarder(m->k, &m->event);
		apply_session_event(m->k->apply, &m->event);
	}
	free(m);
}

static void
session_event(void *ctx, const struct session_event *e)
{
	struct keeld *k = ctx;
	struct event_message *m;

	if (!session_event_reserved(e))
		return; /* event without a receiver in keeld */
	m = take_event(k->wiring); /* reserved before the session thread acted */
	m->k = k;
	m->event = *e;
	layers_send_main(&k->layers, &m->mail, on_main_session_event, m);
}

/* ---- start and stop ---- */

/*
 * Huge pages for the large arenas: beside forwarding tables of hundreds of megabytes, the extra
 * memory is small (docs/architecture.md, "Memory"). Not without a data plane, where keeld should be
 * small. Not for the journal: its pages are returned to the system while the journal is read, and
 * each return would split a huge page.
 */
static int
arena_create_large(struct keeld *k, const char *name, struct arena **out)
{
	int err = arena_create(name, out);

	if (err == 0 && !k->no_dataplane)
		arena_use_huge(*out);
	return err;
}

static int
create_memory(struct keeld *k)
{
	int err;

	if ((err = arena_create("rib", &k->layers.arena_rib)) != 0 ||
		(err = arena_create_large(k, "fib", &k->layers.arena_fib)) != 0 ||
		(err = arena_create("session", &k->layers.arena_session)) != 0 ||
		(err = arena_create("control", &k->layers.arena_control)) != 0)
		return err;
	if (!k->no_dataplane && (err = arena_create_in("tables", forwarder_region(k->forwarder),
					 &k->layers.arena_tables)) != 0)
		return err;
	if ((err = qsbr_create(k->layers.arena_control, RIB_READERS_MAX, &k->layers.readers)) !=
			0 ||
		(err = qsbr_create(k->layers.arena_tables != NULL ? k->layers.arena_tables
								  : k->layers.arena_control,
			 WORKER_READERS_MAX, &k->layers.workers)) != 0)
		return err;
	if ((err = qsbr_register(k->layers.readers, &k->layers.main_reader)) != 0)
		return err;
	return qsbr_register(k->layers.workers, &k->layers.main_fib_reader);
}

/*
 * The session thread gets -ESTALE at its next read. The fib thread is never evicted: writers wait
 * for it.
 */
static void
on_evicted(void *ctx, struct journal_cursor *c)
{
	struct keeld *k = ctx;

	(void)c;
	thread_wake(k->layers.session_thread);
}

static int
create_rib(struct keeld *k) RUNS_ON(role_main)
{
	struct shard_config c = {
		.readers = k->layers.readers,
		.own_asn = apply_running(k->apply)->asn,
		.router_id = apply_running(k->apply)->router_id,
		.cluster_id = apply_running(k->apply)->cluster_id,
		.max_paths = apply_running(k->apply)->max_paths,
		.tombstones_max = apply_running(k->apply)->tombstones_max,
		.evicted = on_evicted,
		.evicted_ctx = k,
		.next_hop_tracking = apply_running(k->apply)->next_hop_tracking,
		.wake_consumers = wake_consumers,
		.wake_ctx = k,
		.ask_next_hop = ask_next_hop,
		.ask_ctx = k,
		.wake_sibling = wake_sibling,
	};
	unsigned count = apply_running(k->apply)->dataplane.rib_threads;
	int err;

	if ((err = journal_create_shared(
		     k->layers.arena_rib, JOURNAL_CAPACITY, count, &k->layers.journal)) != 0)
		return err;
	c.journal = k->layers.journal;
	c.siblings = count > 1 ? k->layers.shards.at : NULL;
	for (unsigned i = 0; i < count; i++) {
		struct shard *at[SHARDS_MAX];

		if ((err = arena_create_large(k, "rib-shard", &k->layers.arena_shard[i])) != 0)
			return err;
		c.arena = k->layers.arena_shard[i];
		c.index = i;
		memcpy(at, k->layers.shards.at, sizeof(at));
		if ((err = shard_create(&c, 1, &at[i])) != 0)
			return err;
		shards_init(&k->layers.shards, at, i + 1);
		for (enum family f = 0; f < FAMILY_COUNT; f++) {
			struct table_id table;

			if ((err = shard_table_add(at[i], VRF_DEFAULT, f, &table)) != 0)
				return err;
		}
	}
	return 0;
}

static int
create_tables(struct fib *fib, unsigned memory_mb) RUNS_ON(role_fib)
{
	int err = fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4);

	if (err == 0)
		err = fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV6);
	if (err == -ENOSPC)
		log_event(LOG_ERROR,
			"tables-do-not-fit text=\"/dataplane/memory_mb: the forwarding tables get "
			"%zu "
			"MiB of %u and need %zu MiB and room for long prefixes; increase it\"",
			host_table_memory(memory_mb) >> 20, memory_mb,
			(2 * (table_v4_bytes(0) + table_v6_bytes(0))) >> 20);
	return err;
}

static int
create_fib(struct keeld *k) RUNS_ON(role_main)
{
	unsigned memory_mb = apply_running(k->apply)->dataplane.memory_mb;
	struct fib_config c = {
		.arena = k->layers.arena_fib,
		.shared = k->layers.arena_tables,
		.workers = k->layers.workers,
		.memory_bytes = host_table_memory(memory_mb),
		.tbl8_groups = host_table_groups(host_table_memory(memory_mb)),
		.huge = true, /* the kernel may give none */
	};
	struct fib_feed_config feed = {
		.arena = k->layers.arena_fib,
		.shards = k->layers.shards.at,
		.shard_count = k->layers.shards.count,
		.batch_max = FIB_BATCH_MAX,
		.commit_interval_ns = FIB_COMMIT_INTERVAL_NS,
		.batch_some = FIB_COMMIT_SOME,
		.commit_latest_ns = FIB_COMMIT_LATEST_NS,
		.resolve = wiring_resolve,
		.resolve_ctx = k,
		.report = report_room,
		.report_ctx = k,
		.static_changed = static_changed,
		.static_ctx = k,
	};
	int err;

	role_enter_fib(); /* the fib thread does not exist yet */
	if (!k->no_dataplane) {
		if ((err = fib_create(&c, &k->layers.fib)) != 0)
			return err;
		if ((err = create_tables(k->layers.fib, memory_mb)) != 0)
			return err;
	}
	if ((err = nexthop_table_create(
		     k->layers.arena_fib, report_next_hop, k, &k->layers.nexthops)) != 0)
		return err;
	feed.fib = k->layers.fib;
	feed.nexthops = k->layers.nexthops;
	return fib_feed_create(&feed, &k->layers.feed);
}

static int
create_speaker(struct keeld *k) RUNS_ON(role_main)
{
	struct speaker_config c = {
		.arena = k->layers.arena_session,
		.readers = k->layers.readers,
		.shards = &k->layers.shards,
		.wake_shard = wake_shard,
		.event = session_event,
		.event_reserve = event_reserve,
		.event_release = event_release,
		.labels = session_labels,
		.ctx = k,
		.asn = apply_running(k->apply)->asn,
		.router_id = apply_running(k->apply)->router_id,
		.tcp_port = 179,
	};

	if (!k->no_dataplane) {
		c.restarts = true;
		c.restarted = forwarder_state(k->forwarder)->inherited;
	}
	apply_swap_range(k->apply, &c.swaps);
	return speaker_create(&c, &k->layers.speaker);
}

int
wiring_create(struct keeld *k)
{
	static const struct {
		const char *what;
		int (*fn)(struct keeld *k);
	} steps[] = {
		{"memory", create_memory},
		{"rib", create_rib},
		{"fib", create_fib},
		{"netlink", wiring_create_netlink},
		{"tun", wiring_create_tun},
		{"speaker", create_speaker},
	};

	k->wiring = calloc(1, sizeof(*k->wiring));
	if (k->wiring == NULL)
		return -ENOMEM;
	k->wiring->watch_owed.end = &k->wiring->watch_owed.first;
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int err = steps[i].fn(k);

		if (err != 0) {
			log_event(LOG_ERROR, "start-failed part=%s error=\"%s\"", steps[i].what,
				strerror(-err));
			return err;
		}
	}
	wiring_name_zones(k);
	return 0;
}

/*
 * The order matters: a thread is created after all threads that it wakes without being asked (rib
 * wakes fib and session, host sends to fib). All other messages are answers to main, after main has
 * stored the pointers.
 */
int
wiring_start(struct keeld *k)
{
	const unsigned *cpus = apply_running(k->apply)->dataplane.control_cpus;
	unsigned cpu_count = apply_running(k->apply)->dataplane.control_count;
	struct thread_config fib = {.name = "keel-fib",
		.ctx = &k->wiring->fib,
		.start = fib_start,
		.work = fib_work,
		.idle = fib_idle,
		.busy = fib_busy};
	struct thread_config host = {.name = "keel-host", .ctx = k, .start = wiring_host_start};
	struct thread_config session = {.name = "keel-session",
		.ctx = k->layers.speaker,
		.start = speaker_start,
		.stop = speaker_stop,
		.work = speaker_work,
		.idle = speaker_idle,
		.busy = speaker_busy};
	struct thread_config rib[SHARDS_MAX];
	struct {
		struct thread_config *config;
		struct thread **out;
	} threads[3 + SHARDS_MAX] = {
		{&fib, &k->layers.fib_thread}, {&session, &k->layers.session_thread}};
	unsigned count = 2;
	int err;

	k->wiring->fib.k = k;
	/* Shards wake each other only on input. Input needs peers, which the session gets after all threads exist. */
	for (unsigned i = 0; i < k->layers.shards.count; i++) {
		struct rib_context *c = &k->wiring->rib[i];

		c->k = k;
		c->shard = i;
		if (k->layers.shards.count == 1)
			snprintf(c->name, sizeof(c->name), "keel-rib");
		else
			snprintf(c->name, sizeof(c->name), "keel-rib-%u", i % 1000);
		rib[i] = (struct thread_config){.name = c->name,
			.ctx = c,
			.start = rib_start,
			.work = rib_work,
			.help = rib_help};
		threads[count].config = &rib[i];
		threads[count++].out = &k->layers.rib_thread[i];
	}
	threads[count].config = &host;
	threads[count++].out = &k->layers.host_thread;
	for (unsigned i = 0; i < count; i++) {
		threads[i].config->cpus = cpus;
		threads[i].config->cpu_count = cpu_count;
		err = thread_create(threads[i].config, threads[i].out);
		if (err != 0) {
			log_event(LOG_ERROR, "start-failed thread=%s error=\"%s\"",
				threads[i].config->name, strerror(-err));
			return err;
		}
	}
	err = rpki_start(k->rpki, cpus, cpu_count, &k->layers.rpki_thread);
	if (err != 0) {
		log_event(LOG_ERROR, "start-failed thread=keel-rpki error=\"%s\"", strerror(-err));
		return err;
	}
	err = bmp_start(k->bmp, cpus, cpu_count, &k->layers.bmp_thread);
	if (err != 0)
		log_event(LOG_ERROR, "start-failed thread=keel-bmp error=\"%s\"", strerror(-err));
	return err;
}

void
wiring_stop(struct keeld *k)
{
	struct thread *threads[5 + SHARDS_MAX];
	unsigned count = 0;

	/* First: the end of the sessions must not reach the tables of keelfwd. */
	threads[count++] = k->layers.fib_thread;
	threads[count++] = k->layers.session_thread;
	threads[count++] = k->layers.rpki_thread;
	threads[count++] = k->layers.bmp_thread;
	for (unsigned i = 0; i < k->layers.shards.count; i++)
		threads[count++] = k->layers.rib_thread[i];
	threads[count++] = k->layers.host_thread;
	if (k->wiring == NULL)
		return;
	atomic_store_explicit(&k->wiring->stopping, true, memory_order_relaxed);
	/*
	 * End all threads before freeing any: a thread may be woken by a thread that has not ended
	 * yet.
	 */
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_end(threads[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_drain(threads[i]);
	}
	if (k->layers.main_thread != NULL)
		thread_drain(k->layers.main_thread);
	for (struct message *m = k->wiring->watch_owed.first, *next; m != NULL; m = next) {
		next = m->next;
		message_free(m);
	}
	k->wiring->watch_owed.first = NULL;
	k->wiring->watch_owed.end = &k->wiring->watch_owed.first;
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_free(threads[i]);
	}
	k->layers.session_thread = k->layers.host_thread = k->layers.fib_thread = NULL;
	k->layers.rpki_thread = k->layers.bmp_thread = NULL;
	memset(k->layers.rib_thread, 0, sizeof(k->layers.rib_thread));
}

void
wiring_destroy(struct keeld *k)
{
	wiring_destroy_host(k);
	if (k->layers.speaker != NULL)
		speaker_destroy(k->layers.speaker);
	if (k->layers.feed != NULL)
		fib_feed_destroy(k->layers.feed);
	if (k->layers.fib != NULL)
		fib_destroy(k->layers.fib);
	if (k->layers.nexthops != NULL)
		nexthop_table_destroy(k->layers.nexthops);
	for (unsigned i = 0; i < k->layers.shards.count; i++)
		shard_destroy(k->layers.shards.at[i]);
	journal_destroy(k->layers.journal);
	if (k->layers.readers != NULL)
		qsbr_destroy(k->layers.readers);
	if (k->layers.workers != NULL)
		qsbr_destroy(k->layers.workers);
	if (k->layers.arena_tables != NULL)
		arena_destroy(k->layers.arena_tables);
	if (k->layers.arena_session != NULL)
		arena_destroy(k->layers.arena_session);
	if (k->layers.arena_fib != NULL)
		arena_destroy(k->layers.arena_fib);
	for (unsigned i = 0; i < SHARDS_MAX && k->layers.arena_shard[i] != NULL; i++)
		arena_destroy(k->layers.arena_shard[i]);
	if (k->layers.arena_rib != NULL)
		arena_destroy(k->layers.arena_rib);
	if (k->layers.arena_control != NULL)
		arena_destroy(k->layers.arena_control);
	free(k->wiring);
	k->wiring = NULL;
}
