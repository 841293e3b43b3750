/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/watchdog.h"

#include "control/base/log.h"
#include "control/base/service.h"
#include "control/base/threads.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK_NS 250000000u /* between two checks, unless a turn becomes late sooner */
#define CHECK_MIN_NS 1000000u
/*
 * After a check later than this, the process was stopped or had no CPU: turns get one more check.
 */
#define CHECK_LATE_NS 500000000u
#define NAME_FORMAT "%.15s"

/* Writer: keel-watch, except for the fields under `lock`. */
struct watchdog {
	struct thread *thread;
	struct timer timer;
	uint64_t due_ns; /* time of the next check */
	uint64_t fed_ns; /* time of the last WATCHDOG=1 */
	/* late turn of each watched thread, by thread number; 0: not late */
	uint64_t late[THREADS_MAX];
	pthread_mutex_t lock; /* held for copies only */
	uint64_t count;
	struct record {
		struct watchdog_late late;
		uint64_t began_ns, ended_ns;
		bool is_main;
	} record[WATCHDOG_RECORDS];
};

static struct record *
record_of(struct watchdog *w, uint64_t number)
{
	struct record *r = &w->record[number % WATCHDOG_RECORDS];

	return number != 0 && r->late.number == number ? r : NULL;
}

static void
late_update(struct record *r, const struct thread_turn *turn, uint64_t now)
{
	r->late.ns = now - r->began_ns;
	snprintf(r->late.doing, sizeof(r->late.doing), "%s", turn->doing);
}

static uint64_t
late_begin(struct watchdog *w, const struct thread_turn *turn, uint64_t now)
{
	struct record *r;
	struct timespec ts;
	uint64_t number;

	clock_gettime(CLOCK_REALTIME, &ts);
	pthread_mutex_lock(&w->lock);
	number = ++w->count;
	r = &w->record[number % WATCHDOG_RECORDS];
	*r = (struct record){
		.late.number = number, .began_ns = turn->began_ns, .is_main = turn->adopted};
	snprintf(r->late.thread, sizeof(r->late.thread), NAME_FORMAT, turn->name);
	r->late.since_s =
		(double)ts.tv_sec + (double)ts.tv_nsec / 1e9 - (double)(now - turn->began_ns) / 1e9;
	late_update(r, turn, now);
	pthread_mutex_unlock(&w->lock);
	log_event(LOG_WARNING, "thread-late thread=" NAME_FORMAT " doing=\"%s\" for_ms=%llu",
		turn->name, turn->doing, (unsigned long long)(now - turn->began_ns) / 1000000);
	return number;
}

static void
late_end(struct watchdog *w, uint64_t number, uint64_t now)
{
	struct watchdog_late late = {0};
	struct record *r;

	pthread_mutex_lock(&w->lock);
	r = record_of(w, number);
	if (r != NULL) {
		r->late.ended = true;
		r->late.ns = now - r->began_ns;
		r->ended_ns = now;
		late = r->late;
	}
	pthread_mutex_unlock(&w->lock);
	if (r != NULL)
		log_event(LOG_WARNING, "thread-late-end thread=%s doing=\"%s\" for_ms=%llu",
			late.thread, late.doing, (unsigned long long)late.ns / 1000000);
}

/* Returns ns until this turn is late; CHECK_NS if idle or already late. */
static uint64_t
check_turn(
	struct watchdog *w, unsigned i, const struct thread_turn *turn, uint64_t now, bool report)
{
	struct record *r = record_of(w, w->late[i]);
	uint64_t took = now > turn->began_ns ? now - turn->began_ns : 0;

	if (w->late[i] != 0 && (r == NULL || turn->began_ns != r->began_ns)) {
		late_end(w, w->late[i], now);
		w->late[i] = 0;
	}
	if (turn->began_ns == 0)
		return CHECK_NS;
	if (w->late[i] != 0) {
		pthread_mutex_lock(&w->lock);
		late_update(r, turn, now);
		pthread_mutex_unlock(&w->lock);
	} else if (took >= WATCHDOG_LATE_NS && report) {
		w->late[i] = late_begin(w, turn, now);
		thread_turn_late(i);
	} else if (took < WATCHDOG_LATE_NS && WATCHDOG_LATE_NS - took < CHECK_NS) {
		return WATCHDOG_LATE_NS - took > CHECK_MIN_NS ? WATCHDOG_LATE_NS - took
							      : CHECK_MIN_NS;
	}
	return CHECK_NS;
}

/*
 * Sends WATCHDOG=1 unless the oldest running turn (`longest_ns`) is too old. The service manager
 * ends keeld after an interval without a message.
 */
static void
feed_service_watchdog(struct watchdog *w, uint64_t now, uint64_t longest_ns)
{
	uint64_t interval = service_watchdog_ns();

	if (interval == 0 || longest_ns >= interval / 2 || now < w->fed_ns + interval / 4)
		return;
	w->fed_ns = now;
	service_notify("WATCHDOG=1");
}

static void
check_threads(struct timer *t)
{
	struct watchdog *w =
		(struct watchdog *)(void *)((char *)t - offsetof(struct watchdog, timer));
	uint64_t now = now_ns(), next = CHECK_NS, longest = 0, wait;
	bool report = now < w->due_ns + CHECK_LATE_NS;
	struct thread_turn turn;

	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (!thread_turn_get(i, &turn))
			turn = (struct thread_turn){.doing = ""};
		if (turn.began_ns != 0 && now > turn.began_ns && now - turn.began_ns > longest)
			longest = now - turn.began_ns;
		wait = check_turn(w, i, &turn, now, report);
		next = wait < next ? wait : next;
	}
	feed_service_watchdog(w, now, longest);
	w->due_ns = now + next;
	(void)timer_arm(w->thread, t, next); /* cannot fail: the heap has kept its space */
}

static int
watch_start(void *ctx, struct thread *self)
{
	struct watchdog *w = ctx;

	w->thread = self;
	w->timer.fire = check_threads;
	w->due_ns = now_ns() + CHECK_NS;
	return timer_arm(self, &w->timer, CHECK_NS);
}

int
watchdog_create(const unsigned *cpus, unsigned cpu_count, struct watchdog **out)
{
	struct watchdog *w = calloc(1, sizeof(*w));
	struct thread_config c = {.name = "keel-watch",
		.cpus = cpus,
		.cpu_count = cpu_count,
		.ctx = w,
		.start = watch_start,
		.unlisted = true};
	struct thread *created; /* `w->thread` belongs to the thread, watch_start() writes it */
	int err;

	if (w == NULL)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	err = thread_create(&c, &created);
	if (err != 0) {
		pthread_mutex_destroy(&w->lock);
		free(w);
		return err;
	}
	*out = w;
	return 0;
}

void
watchdog_destroy(struct watchdog *w)
{
	if (w == NULL)
		return;
	thread_end(w->thread);
	thread_free(w->thread);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool
watchdog_late_get(struct watchdog *w, uint64_t number, struct watchdog_late *out)
{
	uint64_t now = now_ns();
	struct record *r;

	pthread_mutex_lock(&w->lock);
	r = record_of(w, number);
	if (r != NULL) {
		*out = r->late;
		if (!out->ended)
			out->ns = now - r->began_ns;
		out->alarm =
			!out->ended || (r->is_main && now - r->ended_ns < WATCHDOG_MAIN_KEPT_NS);
	}
	pthread_mutex_unlock(&w->lock);
	return r != NULL;
}

uint64_t
watchdog_late_count(struct watchdog *w)
{
	uint64_t count;

	pthread_mutex_lock(&w->lock);
	count = w->count;
	pthread_mutex_unlock(&w->lock);
	return count;
}

char *
watchdog_text(const struct watchdog_late *late, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s its turn for %.1f s, doing: %s", late->thread,
		late->ended ? "did not finish" : "has not finished", (double)late->ns / 1e9,
		late->doing);
	return buf;
}
