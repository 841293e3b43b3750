/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/wiring_impl.h"

#include "control/apply/apply.h"
#include "control/host/host_check.h"
#include "control/host/host_routes.h"
#include "control/base/log.h"
#include "control/host/netlink.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "lpm/arena.h"
#include "lpm/doing.h"
#include "lpm/fib.h"
#include "lpm/qsbr.h"
#include "lpm/table_v4.h"
#include "lpm/table_v6.h"
#include "rib/fib_feed.h"
#include "rib/nexthop.h"
#ifdef KEEL_DATAPLANE
#include "dataplane/port.h"
#include "dataplane/worker.h"
#include "dataplane/xdp.h"
#endif

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
#define FIB_BATCH_MAX 4096 /* prefixes a commit */

/* Main is ending the threads: whoever a message would speak to may be gone, and what it would change does not matter any more. */
static _Atomic bool stopping;

/* Messages for times without memory: room for the news of a full neighbour table. Untouched pages take no memory. */
#define RESERVE 2048
#define RESERVE_WAIT_NS 1000000

static struct {
	struct message message[RESERVE];
	_Atomic bool taken[RESERVE];
} reserve;

static struct message *
reserve_take(void)
{
	for (unsigned i = 0; i < RESERVE; i++) {
		/* acquire: pairs with the release in message_free */
		if (!atomic_load_explicit(&reserve.taken[i], memory_order_relaxed) &&
			!atomic_exchange_explicit(&reserve.taken[i], true, memory_order_acquire))
			return &reserve.message[i];
	}
	return NULL;
}

void
message_free(struct message *m)
{
	free(m->hops);
	if (m->reserved)
		/* release: pairs with the acquire in reserve_take */
		atomic_store_explicit(
			&reserve.taken[m - reserve.message], false, memory_order_release);
	else
		free(m);
}

static void
message_run(void *arg)
{
	struct message *m = arg;

	if (atomic_load_explicit(&stopping, memory_order_relaxed))
		message_free(m);
	else
		m->fn(m);
}

static void
message_post(struct thread *t, void (*fn)(void *arg), struct message *to, const struct message *m,
	bool reserved)
{
	*to = *m;
	to->fn = fn;
	to->reserved = reserved;
	thread_send(t, &to->mail, message_run, to);
}

bool
wiring_try_send(struct thread *t, void (*fn)(void *arg), const struct message *m)
{
	struct message *copy;

	/* The receiver is ending or gone: layers that are taken down still speak to each other. */
	if (atomic_load_explicit(&stopping, memory_order_relaxed)) {
		free(m->hops);
		return true;
	}
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return false;
	message_post(t, fn, copy, m, false);
	return true;
}

static void
memory_wait(void)
{
	const struct timespec wait = {.tv_nsec = RESERVE_WAIT_NS};

	doing("waiting for memory");
	nanosleep(&wait, NULL);
}

void *
wiring_calloc(size_t count, size_t size)
{
	void *p;

	while ((p = calloc(count, size)) == NULL &&
		!atomic_load_explicit(&stopping, memory_order_relaxed))
		memory_wait();
	return p;
}

void
wiring_send(struct thread *t, void (*fn)(void *arg), const struct message *m)
{
	struct message *spare;

	while (!wiring_try_send(t, fn, m)) {
		spare = reserve_take();
		if (spare != NULL) {
			message_post(t, fn, spare, m, true);
			return;
		}
		memory_wait();
	}
}

/* ---- rib <-> fib: next hops ---- */

/* Questions that the fib thread could not follow for want of memory, oldest first; later ones wait behind them. The fib thread's. */
static struct {
	struct message *first, **end;
} watch_owed = {.end = &watch_owed.first};

static void
watch_owe(struct message *m)
{
	m->next = NULL;
	*watch_owed.end = m;
	watch_owed.end = &m->next;
}

/* True while some are left. */
static bool
RUNS_ON(role_fib) watch_again(struct keeld *k)
{
	struct message *m;

	while ((m = watch_owed.first) != NULL && fib_feed_watch(k->feed, &m->next_hop) == 0) {
		watch_owed.first = m->next;
		if (m->next == NULL)
			watch_owed.end = &watch_owed.first;
		message_free(m);
	}
	return m != NULL;
}

static void
on_fib_watch(void *arg)
{
	struct message *m = arg;
	struct keeld *k = m->k;

	role_enter_fib();
	watch_owe(m);
	if (watch_again(k))
		log_event(LOG_WARNING, "next-hop-waits error=\"%s\"", strerrordesc_np(ENOMEM));
}

static bool
ask_next_hop(void *ctx, const struct nexthop_message *nh)
{
	struct keeld *k = ctx;

	return wiring_try_send(
		k->fib_thread, on_fib_watch, &(struct message){.k = k, .next_hop = *nh});
}

static void
on_rib_next_hop(void *arg)
{
	struct message *m = arg;

	role_enter_rib();
	shard_next_hop(m->k->shards.at[m->shard], &m->next_hop);
	message_free(m);
}

static bool
tell_next_hop(void *ctx, const struct nexthop_message *nh)
{
	struct keeld *k = ctx;

	/* A shard that did not ask ignores the message. */
	for (unsigned i = 0; i < k->shards.count; i++) {
		if (!wiring_try_send(k->rib_thread[i], on_rib_next_hop,
			    &(struct message){.k = k, .shard = i, .next_hop = *nh}))
			return false;
	}
	return true;
}

/* ---- fib -> rib: what the forwarding tables have no room for ---- */

static struct report_context {
	struct keeld *k;
	unsigned shard;
	struct shard_report *report;
	struct thread_mail mail; /* one report is under way to a shard at a time */
} report_context[SHARDS_MAX];

static void
on_rib_report(void *arg)
{
	const struct report_context *c = arg;
	struct keeld *k = c->k;

	role_enter_rib();
	if (atomic_load_explicit(&stopping, memory_order_relaxed))
		return;
	/* behind shard_report() the context is the fib thread's again */
	shard_report(k->shards.at[c->shard], c->report);
	thread_wake(k->fib_thread);
}

static int
report_room(void *ctx, unsigned shard, struct shard_report *r)
{
	struct keeld *k = ctx;

	report_context[shard] = (struct report_context){.k = k, .shard = shard, .report = r};
	thread_send(k->rib_thread[shard], &report_context[shard].mail, on_rib_report,
		&report_context[shard]);
	return 0;
}

/* ---- threads ---- */

static struct fib_context {
	struct keeld *k;
	struct thread *self;
	unsigned reader;
	struct timer due;
	bool audit_ran;
	struct thread_mail
		audit_done; /* one audit runs at a time, and main begins the next when this has come */
} fib_context;

static void
fib_due(struct timer *t)
{
	(void)t; /* the wake-up is all: the loop calls work() after timers */
}

static int
fib_start(void *ctx, struct thread *self)
{
	struct fib_context *c = ctx;

	c->self = self;
	c->due.fire = fib_due;
	if (timer_arm(self, &c->due, 0) != 0) /* so that it can be armed from now on */
		return -ENOMEM;
	return qsbr_register(c->k->readers, &c->reader);
}

static void on_main_audit_done(void *arg);

#define OWED_NS 100000000 /* messages that found no memory are tried again after this */

static bool
fib_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct fib_context *c = ctx;
	uint64_t wait;
	bool more, running, owed;

	role_enter_fib();
	wiring_links_apply(c->k);
	owed = watch_again(c->k);
	owed |= nexthop_tell_owed(c->k->nexthops);
	if (owed)
		(void)timer_arm_sooner(c->self, &c->due, OWED_NS);
	more = fib_feed_work(c->k->feed, now, deadline);
	qsbr_quiescent(c->k->readers, c->reader);
	running = fib_feed_audit(c->k->feed)->running;
	if (c->audit_ran && !running) {
		c->audit_ran = false;
		thread_send(c->k->main_thread, &c->audit_done, on_main_audit_done, c->k);
	}
	wait = more ? 0 : fib_feed_wait_ns(c->k->feed);
	if (wait != 0)
		timer_arm_sooner(c->self, &c->due, wait);
	return more;
}

static void
fib_idle(void *ctx)
{
	struct fib_context *c = ctx;

	qsbr_offline(c->k->readers, c->reader);
}

static void
fib_busy(void *ctx)
{
	struct fib_context *c = ctx;

	qsbr_online(c->k->readers, c->reader);
}

/* What was replaced is freed after a grace period: somebody has to look again when no input comes any more. */
#define RIB_TIDY_NS 100000000
/* Who waits for consumers is woken by the session thread when it has read; this is for when it does not, or just had. */
#define RIB_PACED_NS 1000000

static struct rib_context {
	struct keeld *k;
	unsigned shard;
	struct thread *self;
	struct timer tidy, paced;
	char name[16];
} rib_context[SHARDS_MAX];

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
	(void)t; /* the wake-up is all: the loop calls work() after timers */
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
	struct shard *s = c->k->shards.at[c->shard];

	role_enter_rib();
	if (!shard_work(s, now, deadline))
		return false;
	/* in turn: what one of them may add is what all together may */
	return !shard_waits(s) ||
	       timer_arm(c->self, &c->paced, RIB_PACED_NS * c->k->shards.count) < 0;
}

static void
wake_consumers(void *ctx)
{
	struct keeld *k = ctx;

	if (k->fib != NULL) /* else it reads no journal */
		thread_wake(k->fib_thread);
	thread_wake(k->session_thread);
}

static void
wake_shard(void *ctx, unsigned shard)
{
	struct keeld *k = ctx;

	thread_wake(k->rib_thread[shard]);
}

/* ---- session -> main ---- */

struct event_message {
	struct thread_mail mail;
	struct event_message *next; /* among those in reserve */
	struct keeld *k;
	struct session_event event;
};

/* Taken before the session thread does what an event will tell of. The session thread's. */
static struct event_message *events_reserved;

static void event_release(void *ctx, unsigned count);

static int
event_reserve(void *ctx, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct event_message *m = malloc(sizeof(*m));

		if (m == NULL) {
			event_release(ctx, i);
			return -ENOMEM;
		}
		m->next = events_reserved;
		events_reserved = m;
	}
	return 0;
}

static struct event_message *
event_take(void)
{
	struct event_message *m = events_reserved;

	assert(m != NULL);
	events_reserved = m->next;
	return m;
}

static void
event_release(void *ctx, unsigned count)
{
	(void)ctx;
	while (count-- > 0)
		free(event_take());
}

static void
on_main_session_event(void *arg)
{
	struct event_message *m = arg;

	if (!atomic_load_explicit(&stopping, memory_order_relaxed))
		keeld_session_event(m->k, &m->event);
	free(m);
}

static void
session_event(void *ctx, const struct session_event *e)
{
	struct keeld *k = ctx;
	struct event_message *m;

	if (!session_event_reserved(e))
		return; /* news for tests alone */
	m = event_take(); /* reserved before the session thread acted */
	m->k = k;
	m->event = *e;
	thread_send(k->main_thread, &m->mail, on_main_session_event, m);
}

/* ---- audits ---- */

struct audit_waiter {
	struct audit_waiter *next;
	void (*done)(void *ctx, const struct fib_audit *a);
	void *ctx;
};

static struct audit_waiter *audit_running, *audit_queued; /* main's */

static void
on_fib_audit_begin(void *arg)
{
	struct keeld *k = arg;

	role_enter_fib();
	/* never -EBUSY: main begins none while one runs; -ENOMEM is the result */
	(void)fib_feed_audit_begin(k->feed);
	fib_context.audit_ran = true;
}

static void
audit_next(struct keeld *k)
{
	audit_running = audit_queued;
	audit_queued = NULL;
	if (audit_running != NULL)
		thread_call(k->fib_thread, on_fib_audit_begin, k);
}

static void
audit_answer(struct keeld *k, struct audit_waiter *w)
{
	struct audit_waiter *next;

	role_enter_fib(); /* the fib thread has ended the audit, or itself, and begins another only when main asks */
	for (; w != NULL; w = next) {
		next = w->next;
		w->done(w->ctx, fib_feed_audit(k->feed));
		free(w);
	}
}

static void
on_main_audit_done(void *arg)
{
	struct keeld *k = arg;

	if (atomic_load_explicit(&stopping, memory_order_relaxed))
		return;
	audit_answer(k, audit_running);
	audit_next(k);
}

/* At the end of keeld: nobody reads the answers any more, the calls are freed. */
static void
audits_end(struct keeld *k)
{
	audit_answer(k, audit_running);
	audit_answer(k, audit_queued);
	audit_running = audit_queued = NULL;
}

int
keeld_audit(struct keeld *k, void (*done)(void *ctx, const struct fib_audit *a), void *ctx)
{
	struct audit_waiter *w;

	if (k->fib == NULL)
		return -ENODEV;
	w = malloc(sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	*w = (struct audit_waiter){audit_queued, done, ctx};
	audit_queued = w;
	if (audit_running == NULL)
		audit_next(k);
	return 0;
}

bool
keeld_audit_progress(const struct keeld *k, const void *ctx, uint64_t *done, uint64_t *total)
{
	const struct audit_waiter *w = audit_running;

	while (w != NULL && w->ctx != ctx)
		w = w->next;
	if (w != NULL)
		fib_feed_audit_progress(k->feed, done, total);
	return w != NULL;
}

/* ---- readers ---- */

void
keeld_rib_read_begin(struct keeld *k)
{
	qsbr_online(k->readers, k->main_reader);
}

void
keeld_rib_read_end(struct keeld *k)
{
	qsbr_offline(k->readers, k->main_reader);
}

void
keeld_fib_read_begin(struct keeld *k)
{
	qsbr_online(k->workers, k->main_fib_reader);
}

void
keeld_fib_read_end(struct keeld *k)
{
	qsbr_offline(k->workers, k->main_fib_reader);
}

/* ---- start and stop ---- */

/*
 * Beside forwarding tables of hundreds of megabytes some dozen more do not count (docs/architecture.md, "Memory"); a BGP speaker alone is to be small. Not for the journal, whose pages go
 * back to the system as it is read: a huge one would be broken for that, each time.
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

	if ((err = arena_create("rib", &k->arena_rib)) != 0 ||
		(err = arena_create_large(k, "fib", &k->arena_fib)) != 0 ||
		(err = arena_create("session", &k->arena_session)) != 0 ||
		(err = arena_create("control", &k->arena_control)) != 0)
		return err;
	if ((err = qsbr_create(k->arena_control, RIB_READERS_MAX, &k->readers)) != 0 ||
		(err = qsbr_create(k->arena_control, WORKER_READERS_MAX, &k->workers)) != 0)
		return err;
	if ((err = qsbr_register(k->readers, &k->main_reader)) != 0)
		return err;
	return qsbr_register(k->workers, &k->main_fib_reader);
}

/* Its owner meets -ESTALE when it reads on; the fib thread is waited for instead. */
static void
on_evicted(void *ctx, struct journal_cursor *c)
{
	struct keeld *k = ctx;

	(void)c;
	thread_wake(k->session_thread);
}

static int
create_rib(struct keeld *k)
{
	struct shard_config c = {
		.readers = k->readers,
		.own_asn = k->running->asn,
		.router_id = k->running->router_id,
		.cluster_id = k->running->cluster_id,
		.max_paths = k->running->max_paths,
		.tombstones_max = k->running->tombstones_max,
		.evicted = on_evicted,
		.evicted_ctx = k,
		.next_hop_tracking = k->running->next_hop_tracking,
		.wake_consumers = wake_consumers,
		.wake_ctx = k,
		.ask_next_hop = ask_next_hop,
		.ask_ctx = k,
		.wake_sibling = wake_shard,
	};
	unsigned count = k->running->dataplane.rib_threads;
	int err;

	if ((err = journal_create_shared(k->arena_rib, JOURNAL_CAPACITY, count, &k->journal)) != 0)
		return err;
	c.journal = k->journal;
	c.siblings = count > 1 ? k->shards.at : NULL;
	for (unsigned i = 0; i < count; i++) {
		struct shard *at[SHARDS_MAX];
		struct table_id table;

		if ((err = arena_create_large(k, "rib-shard", &k->arena_shard[i])) != 0)
			return err;
		c.arena = k->arena_shard[i];
		c.index = i;
		memcpy(at, k->shards.at, sizeof(at));
		if ((err = shard_create(&c, 1, &at[i])) != 0)
			return err;
		shards_init(&k->shards, at, i + 1);
		if ((err = shard_table_add(at[i], VRF_DEFAULT, FAMILY_IPV4_UNICAST, &table)) != 0 ||
			(err = shard_table_add(at[i], VRF_DEFAULT, FAMILY_IPV6_UNICAST, &table)) !=
				0)
			return err;
	}
	return 0;
}

size_t
keeld_rib_bytes(const struct keeld *k)
{
	size_t bytes = arena_bytes(k->arena_rib);

	for (unsigned i = 0; i < k->shards.count; i++)
		bytes += arena_bytes(k->arena_shard[i]);
	return bytes;
}

static int
RUNS_ON(role_fib) create_tables(struct keeld *k)
{
	int err = fib_vrf_add(k->fib, VRF_DEFAULT, AFI_IPV4);

	if (err == 0)
		err = fib_vrf_add(k->fib, VRF_DEFAULT, AFI_IPV6);
	if (err == -ENOSPC)
		log_event(LOG_ERROR,
			"tables-do-not-fit text=\"/dataplane/memory_mb: the forwarding tables get "
			"%zu "
			"MiB of %u and need %zu MiB and room for long prefixes; increase it\"",
			host_table_memory(k->running->dataplane.memory_mb) >> 20,
			k->running->dataplane.memory_mb,
			(2 * (table_v4_bytes(0) + table_v6_bytes(0))) >> 20);
	return err;
}

static int
create_fib(struct keeld *k)
{
	struct fib_config c = {
		.arena = k->arena_fib,
		.workers = k->workers,
		.memory_bytes = host_table_memory(k->running->dataplane.memory_mb),
		.tbl8_groups =
			host_table_groups(host_table_memory(k->running->dataplane.memory_mb)),
		.huge = k->huge,
	};
	struct fib_feed_config feed = {
		.arena = k->arena_fib,
		.shards = k->shards.at,
		.shard_count = k->shards.count,
		.batch_max = FIB_BATCH_MAX,
		.commit_interval_ns = FIB_COMMIT_INTERVAL_NS,
		.batch_some = FIB_COMMIT_SOME,
		.commit_latest_ns = FIB_COMMIT_LATEST_NS,
		.resolve = wiring_resolve,
		.resolve_ctx = k,
		.report = report_room,
		.report_ctx = k,
	};
	int err;

	role_enter_fib(); /* no thread of its own yet */
	if (!k->no_dataplane) {
		if ((err = fib_create(&c, &k->fib)) != 0)
			return err;
		if ((err = create_tables(k)) != 0)
			return err;
	}
	if ((err = nexthop_table_create(k->arena_fib, tell_next_hop, k, &k->nexthops)) != 0)
		return err;
	feed.fib = k->fib;
	feed.nexthops = k->nexthops;
	return fib_feed_create(&feed, &k->feed);
}

static int
create_speaker(struct keeld *k)
{
	struct speaker_config c = {
		.arena = k->arena_session,
		.readers = k->readers,
		.shards = &k->shards,
		.wake_shard = wake_shard,
		.event = session_event,
		.event_reserve = event_reserve,
		.event_release = event_release,
		.ctx = k,
		.asn = k->running->asn,
		.router_id = k->running->router_id,
		.tcp_port = 179,
	};

	return speaker_create(&c, &k->speaker);
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
 * The order matters: whom a thread wakes by itself exists before it (rib wakes fib and session, host posts to fib); everybody else is
 * spoken to only in answer to a message, and so after main stored the pointer.
 */
int
wiring_start(struct keeld *k)
{
	const unsigned *cpus = k->running->dataplane.control_cpus;
	unsigned cpu_count = k->running->dataplane.control_count;
	struct thread_config fib = {.name = "keel-fib",
		.ctx = &fib_context,
		.start = fib_start,
		.work = fib_work,
		.idle = fib_idle,
		.busy = fib_busy};
	struct thread_config host = {.name = "keel-host", .ctx = k, .start = wiring_host_start};
	struct thread_config session = {.name = "keel-session",
		.ctx = k->speaker,
		.start = speaker_start,
		.stop = speaker_stop,
		.work = speaker_work,
		.idle = speaker_idle,
		.busy = speaker_busy};
	struct thread_config rib[SHARDS_MAX];
	struct {
		struct thread_config *config;
		struct thread **out;
	} threads[3 + SHARDS_MAX] = {{&fib, &k->fib_thread}, {&session, &k->session_thread}};
	unsigned count = 2;

	fib_context.k = k;
	/* Shards wake each other, but only for what the session gave them, and it gets its peers last. */
	for (unsigned i = 0; i < k->shards.count; i++) {
		struct rib_context *c = &rib_context[i];

		c->k = k;
		c->shard = i;
		if (k->shards.count == 1)
			snprintf(c->name, sizeof(c->name), "keel-rib");
		else
			snprintf(c->name, sizeof(c->name), "keel-rib-%u", i % 1000);
		rib[i] = (struct thread_config){
			.name = c->name, .ctx = c, .start = rib_start, .work = rib_work};
		threads[count].config = &rib[i];
		threads[count++].out = &k->rib_thread[i];
	}
	threads[count].config = &host;
	threads[count++].out = &k->host_thread;
	for (unsigned i = 0; i < count; i++) {
		int err;

		threads[i].config->cpus = cpus;
		threads[i].config->cpu_count = cpu_count;
		err = thread_create(threads[i].config, threads[i].out);
		if (err != 0) {
			log_event(LOG_ERROR, "start-failed thread=%s error=\"%s\"",
				threads[i].config->name, strerror(-err));
			return err;
		}
	}
	return 0;
}

void
wiring_stop(struct keeld *k)
{
	struct thread *threads[3 + SHARDS_MAX] = {k->session_thread};
	unsigned count = 1;

	for (unsigned i = 0; i < k->shards.count; i++)
		threads[count++] = k->rib_thread[i];
	threads[count++] = k->host_thread;
	threads[count++] = k->fib_thread;
	atomic_store_explicit(&stopping, true, memory_order_relaxed);
	/* Quitting first, freeing last: a thread may still be woken by one that has not ended yet. */
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_end(threads[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_drain(threads[i]);
	}
	if (k->main_thread != NULL)
		thread_drain(k->main_thread);
	audits_end(k);
	for (struct message *m = watch_owed.first, *next; m != NULL; m = next) {
		next = m->next;
		message_free(m);
	}
	watch_owed.first = NULL;
	watch_owed.end = &watch_owed.first;
	for (unsigned i = 0; i < count; i++) {
		if (threads[i] != NULL)
			thread_free(threads[i]);
	}
	k->session_thread = k->host_thread = k->fib_thread = NULL;
	memset(k->rib_thread, 0, sizeof(k->rib_thread));
}

void
wiring_destroy(struct keeld *k)
{
	keeld_host_routes_fini(k);
	wiring_destroy_tun(k);
	if (k->netlink != NULL)
		netlink_destroy(k->netlink);
	if (k->speaker != NULL)
		speaker_destroy(k->speaker);
	if (k->feed != NULL)
		fib_feed_destroy(k->feed);
	if (k->fib != NULL)
		fib_destroy(k->fib);
	if (k->nexthops != NULL)
		nexthop_table_destroy(k->nexthops);
	for (unsigned i = 0; i < k->shards.count; i++)
		shard_destroy(k->shards.at[i]);
	journal_destroy(k->journal);
	if (k->readers != NULL)
		qsbr_destroy(k->readers);
	if (k->workers != NULL)
		qsbr_destroy(k->workers);
	if (k->arena_session != NULL)
		arena_destroy(k->arena_session);
	if (k->arena_fib != NULL)
		arena_destroy(k->arena_fib);
	for (unsigned i = 0; i < SHARDS_MAX && k->arena_shard[i] != NULL; i++)
		arena_destroy(k->arena_shard[i]);
	if (k->arena_rib != NULL)
		arena_destroy(k->arena_rib);
	if (k->arena_control != NULL)
		arena_destroy(k->arena_control);
}
