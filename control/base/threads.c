/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/threads.h"

#include "lpm/base/in_use.h"
#include "lpm/base/note_work.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64
#define SLEEP_UNLIMITED UINT64_MAX
#define CALLED_AT_ONCE_MAX 16u /* one per shard */

/* Written by the thread only, except `mailbox`, `sleeping` and `quit`. */
struct thread {
	struct thread_config config;
	pthread_t id;
	bool adopted;
	int epoll_fd, event_fd;
	struct epoll_event event[EVENTS_PER_TURN]; /* read; handled before `event_next` */
	int event_next, event_count;
	struct timer **heap; /* binary heap by deadline; index 0 is the earliest */
	unsigned heap_count, heap_size;
	int start_result;
	sem_t started, ended;
	uint64_t slept_ns; /* in this turn */
	struct hist slices, turns;
	char awaited[32]; /* note for threads that wait for this thread */
	_Atomic(const char *) *doing; /* noted_work of the thread */
	_Atomic uint64_t turn_began_ns; /* 0: asleep, or not in the loop */
	_Atomic uint64_t late; /* counted by keel-watch */
	alignas(CACHE_LINE) _Atomic(struct thread_mail *)
		mailbox; /* newest first; the thread takes and reverses the list */
	_Atomic bool sleeping, quit;
	/* Held while the thread does not sleep, or by thread_do(). */
	pthread_mutex_t awake;
	uint64_t sleeps_until_ns; /* under `awake` */
};

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

double
wall_s(void)
{
	return (double)wall_ns() / 1e9;
}

/* ---- timers ---- */

static void
heap_place(struct thread *t, unsigned i, struct timer *timer)
{
	t->heap[i] = timer;
	timer->heap_index = i;
}

static void
heap_up(struct thread *t, unsigned i)
{
	struct timer *timer = t->heap[i];

	while (i > 0 && t->heap[(i - 1) / 2]->deadline_ns > timer->deadline_ns) {
		heap_place(t, i, t->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_place(t, i, timer);
}

static void
heap_down(struct thread *t, unsigned i)
{
	struct timer *timer = t->heap[i];

	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= t->heap_count)
			break;
		if (child + 1 < t->heap_count &&
			t->heap[child + 1]->deadline_ns < t->heap[child]->deadline_ns)
			child++;
		if (t->heap[child]->deadline_ns >= timer->deadline_ns)
			break;
		heap_place(t, i, t->heap[child]);
		i = child;
	}
	heap_place(t, i, timer);
}

void
timer_cancel(struct thread *t, struct timer *timer)
{
	unsigned i = timer->heap_index;
	struct timer *last;

	if (timer->deadline_ns == 0)
		return;
	timer->deadline_ns = 0;
	in_use_end(timer, IN_USE_TIMER, t);
	last = t->heap[--t->heap_count];
	if (last == timer)
		return;
	heap_place(t, i, last);
	heap_up(t, i);
	heap_down(t, last->heap_index);
}

static uint64_t
deadline_in(uint64_t delay_ns)
{
	uint64_t now = now_ns();

	return delay_ns < UINT64_MAX - now ? now + delay_ns : UINT64_MAX;
}

int
timer_arm(struct thread *t, struct timer *timer, uint64_t delay_ns)
{
	timer_cancel(t, timer);
	if (t->heap_count == t->heap_size) {
		unsigned size = t->heap_size ? 2 * t->heap_size : 64;
		struct timer **heap = realloc(t->heap, size * sizeof(*heap));

		if (heap == NULL)
			return -ENOMEM;
		t->heap = heap;
		t->heap_size = size;
	}
	timer->deadline_ns = deadline_in(delay_ns);
	in_use_begin(timer, IN_USE_TIMER, t);
	heap_place(t, t->heap_count++, timer);
	heap_up(t, t->heap_count - 1);
	return 0;
}

int
timer_arm_sooner(struct thread *t, struct timer *timer, uint64_t delay_ns)
{
	if (timer->deadline_ns != 0 && timer->deadline_ns <= deadline_in(delay_ns))
		return 0;
	return timer_arm(t, timer, delay_ns);
}

/*
 * Fires at most the count of timers armed now: a timer that is armed again waits for the next turn.
 */
static void
timers_fire(struct thread *t)
{
	uint64_t now = now_ns();

	for (unsigned n = t->heap_count; n > 0 && t->heap_count > 0; n--) {
		struct timer *timer = t->heap[0];

		if (timer->deadline_ns > now)
			break;
		timer_cancel(t, timer);
		note_work("timers");
		timer->fire(timer);
	}
}

/* ---- file descriptors ---- */

int
watch_set(struct thread *t, struct watch *w, uint32_t epoll_events)
{
	struct epoll_event ev = {.events = epoll_events, .data.ptr = w};

	for (int i = t->event_next; i < t->event_count; i++)
		if (t->event[i].data.ptr == w)
			t->event[i].data.ptr = NULL;
	in_use_end(w, IN_USE_WATCH, t);
	if (epoll_events == 0)
		return epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL) == 0 || errno == ENOENT
			       ? 0
			       : -errno;
	in_use_begin(w, IN_USE_WATCH, t);
	if (epoll_ctl(t->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) == 0)
		return 0;
	if (errno == ENOENT && epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) == 0)
		return 0;
	in_use_end(w, IN_USE_WATCH, t);
	return -errno;
}

/*
 * The only place where a thread sleeps. The thread is offline only while asleep, since callbacks
 * read the RIB.
 */
static int
event_sleep(struct thread *t, struct epoll_event *ev, uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
	uint64_t began = now_ns(), woke;
	int n;

	if (t->config.idle != NULL)
		t->config.idle(t->config.ctx);
	atomic_store_explicit(&t->turn_began_ns, 0, memory_order_relaxed);
	t->sleeps_until_ns = t->heap_count > 0 ? t->heap[0]->deadline_ns : UINT64_MAX;
	pthread_mutex_unlock(&t->awake);
	n = epoll_pwait2(
		t->epoll_fd, ev, EVENTS_PER_TURN, ns != SLEEP_UNLIMITED ? &ts : NULL, NULL);
	if (n < 0 && errno == ENOSYS) /* before Linux 5.11: whole milliseconds */
		n = epoll_wait(t->epoll_fd, ev, EVENTS_PER_TURN,
			ns / 1000000 < INT_MAX ? (int)(ns / 1000000) + 1 : -1);
	pthread_mutex_lock(&t->awake);
	woke = now_ns();
	atomic_store_explicit(&t->turn_began_ns, woke, memory_order_relaxed);
	if (t->config.busy != NULL)
		t->config.busy(t->config.ctx);
	t->slept_ns += woke - began;
	return n;
}

/*
 * A callback may close further descriptors, free their watches, or set other events: watch_set() takes them out of the events read here. Events that the time
 * does not suffice for are handled in the next turn, before others are read.
 */
static void
descriptors_poll(struct thread *t, uint64_t sleep_ns)
{
	uint64_t until = 0;

	if (t->event_next == t->event_count) {
		int n = sleep_ns != 0 ? event_sleep(t, t->event, sleep_ns)
				      : epoll_wait(t->epoll_fd, t->event, EVENTS_PER_TURN, 0);

		t->event_next = 0;
		t->event_count = n > 0 ? n : 0;
	}
	while (t->event_next < t->event_count) {
		struct epoll_event ev = t->event[t->event_next++];
		struct watch *w = ev.data.ptr;

		if (w == NULL || w == (void *)t) /* edge-triggered: the counter is never read */
			continue;
		note_work("descriptors");
		w->ready(w, ev.events);
		/*
		 * A limit of its own: 64 full sockets would take several slices and delay the
		 * timers.
		 */
		if (until == 0)
			until = now_ns() + SLICE_NS;
		else if (now_ns() >= until)
			return;
	}
}

/* ---- mailbox ---- */

static void
event_fd_ring(struct thread *t)
{
	uint64_t one = 1;
	ssize_t n = write(t->event_fd, &one, sizeof(one));

	(void)n; /* the counter is full after 2^64 - 1 writes */
}

void
thread_wake(struct thread *t)
{
	/*
	 * acq_rel: pairs with the exchange in thread_turn: the later exchange sees all writes
	 * before the earlier
	 */
	if (atomic_exchange_explicit(&t->sleeping, false, memory_order_acq_rel))
		event_fd_ring(t);
}

static void
mail_push(struct thread *t, struct thread_mail *m)
{
	in_use_begin(m, IN_USE_MESSAGE, t);
	in_use_begin(m->arg, IN_USE_MESSAGE, t);
	m->next = atomic_load_explicit(&t->mailbox, memory_order_relaxed);
	/* release: pairs with the exchange in mailbox_run */
	while (!atomic_compare_exchange_weak_explicit(
		&t->mailbox, &m->next, m, memory_order_release, memory_order_relaxed))
		;
	thread_wake(t);
}

void
thread_send(struct thread *t, struct thread_mail *m, void (*fn)(void *arg), void *arg)
{
	*m = (struct thread_mail){.fn = fn, .arg = arg};
	mail_push(t, m);
}

int
thread_post(struct thread *t, void (*fn)(void *arg), void *arg)
{
	struct thread_mail *m = malloc(sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	*m = (struct thread_mail){.fn = fn, .arg = arg, .allocated = true};
	mail_push(t, m);
	return 0;
}

int
thread_call(struct thread *t, void (*fn)(void *arg), void *arg)
{
	sem_t done;
	const char *before = atomic_load_explicit(&noted_work, memory_order_relaxed);
	struct thread_mail m = {.fn = fn, .arg = arg, .done = &done, .doing = before};

	if (sem_init(&done, 0, 0) != 0)
		return -errno;
	note_work(t->awaited);
	mail_push(t, &m);
	while (sem_wait(&done) != 0 && errno == EINTR)
		;
	note_work(before);
	sem_destroy(&done);
	return 0;
}

int
thread_call_each(struct thread *const *t, unsigned count, void (*fn)(void *arg), void *const *arg)
{
	const char *before = atomic_load_explicit(&noted_work, memory_order_relaxed);
	struct thread_mail m[CALLED_AT_ONCE_MAX];
	sem_t done;

	if (sem_init(&done, 0, 0) != 0)
		return -errno;
	assert(count <= CALLED_AT_ONCE_MAX);
	for (unsigned i = 0; i < count; i++) {
		m[i] = (struct thread_mail){
			.fn = fn, .arg = arg[i], .done = &done, .doing = before};
		mail_push(t[i], &m[i]);
	}
	note_work(count > 0 ? t[0]->awaited : before);
	for (unsigned i = 0; i < count; i++)
		while (sem_wait(&done) != 0 && errno == EINTR)
			;
	note_work(before);
	sem_destroy(&done);
	return 0;
}

static bool
mailbox_run(struct thread *t)
{
	/* acquire: pairs with the release in mail_push */
	struct thread_mail *m = atomic_exchange_explicit(&t->mailbox, NULL, memory_order_acquire),
			   *ordered = NULL, *next;

	for (; m != NULL; m = next) {
		next = m->next;
		m->next = ordered;
		ordered = m;
	}
	for (m = ordered; m != NULL; m = next) {
		sem_t *done = m->done;
		bool allocated = m->allocated;

		/* a waiter's mail is invalid after sem_post(), a sender's after fn() */
		next = m->next;
		in_use_end(m->arg, IN_USE_MESSAGE, t);
		in_use_end(m, IN_USE_MESSAGE, t);
		note_work(m->doing != NULL ? m->doing : "messages");
		m->fn(m->arg);
		if (done != NULL)
			sem_post(done);
		else if (allocated)
			free(m);
	}
	return ordered != NULL;
}

/* ---- the loop ---- */

static void
figure_add(struct hist *h, uint64_t ns)
{
	if (ns >= FIGURES_FROM_NS)
		hist_add(h, ns);
}

static bool
thread_work(struct thread *t)
{
	uint64_t now;
	bool more;

	if (t->config.work == NULL)
		return false;
	now = now_ns();
	note_work("work");
	more = t->config.work(t->config.ctx, now, now + SLICE_NS);
	figure_add(&t->slices, now_ns() - now);
	return more;
}

/* Time until the next timer. */
static uint64_t
next_timer_ns(const struct thread *t)
{
	uint64_t now = now_ns();

	if (t->heap_count == 0)
		return SLEEP_UNLIMITED;
	return t->heap[0]->deadline_ns > now ? t->heap[0]->deadline_ns - now : 0;
}

static bool
help_suffices(struct thread *t)
{
	uint64_t now = now_ns();

	return t->config.help(t->config.ctx, now, now + HELP_NS);
}

/* As the end of thread_turn(). False: the thread must wake. */
static bool
sleeps_on(struct thread *t)
{
	if (!help_suffices(t))
		return false;
	/* acq_rel: pairs with the exchange in thread_wake, as in thread_turn */
	atomic_exchange_explicit(&t->sleeping, true, memory_order_acq_rel);
	if (atomic_load_explicit(&t->mailbox, memory_order_relaxed) == NULL && help_suffices(t) &&
		(t->heap_count == 0 || t->heap[0]->deadline_ns >= t->sleeps_until_ns))
		return true;
	/* false: another thread wakes this one */
	return !atomic_exchange_explicit(&t->sleeping, false, memory_order_acq_rel);
}

void
thread_do(struct thread *t)
{
	bool done = false;

	if (!atomic_exchange_explicit(&t->sleeping, false, memory_order_acq_rel))
		return;
	/* busy: on its way into or out of its sleep */
	if (t->config.help != NULL && pthread_mutex_trylock(&t->awake) == 0) {
		done = sleeps_on(t);
		pthread_mutex_unlock(&t->awake);
	}
	if (!done)
		event_fd_ring(t);
}

static void
thread_turn(struct thread *t)
{
	uint64_t began = now_ns();
	bool more;

	atomic_store_explicit(&t->turn_began_ns, began, memory_order_relaxed);
	more = mailbox_run(t);
	t->slept_ns = 0;
	timers_fire(t);
	more |= thread_work(t);
	if (!more) {
		/*
		 * acq_rel: pairs with the exchange in thread_wake: the second check sees all work
		 * before an earlier wake-up.
		 */
		atomic_exchange_explicit(&t->sleeping, true, memory_order_acq_rel);
		more = atomic_load_explicit(&t->mailbox, memory_order_relaxed) != NULL ||
		       thread_work(t);
	}
	more |= atomic_load_explicit(&t->quit, memory_order_relaxed);
	descriptors_poll(t, more ? 0 : next_timer_ns(t));
	/*
	 * acquire: pairs with the exchange in thread_wake: only the first wake-up of several writes
	 * the eventfd; the next turn sees the work of all
	 */
	atomic_exchange_explicit(&t->sleeping, false, memory_order_acquire);
	figure_add(&t->turns, now_ns() - began - t->slept_ns);
}

int
thread_run(struct thread *t)
{
	if (t->config.busy != NULL)
		t->config.busy(t->config.ctx);
	pthread_mutex_lock(&t->awake);
	while (!atomic_load_explicit(&t->quit, memory_order_acquire))
		thread_turn(t);
	atomic_store_explicit(&t->turn_began_ns, 0, memory_order_relaxed);
	mailbox_run(t);
	pthread_mutex_unlock(&t->awake);
	if (t->config.idle != NULL)
		t->config.idle(t->config.ctx);
	return 0;
}

/* ---- figures ---- */

/* By number. Main adds and removes threads under the lock; keel-watch reads under the lock. */
static struct thread *threads[THREADS_MAX];
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;

static void
thread_enlist(struct thread *t)
{
	if (t->config.unlisted)
		return;
	pthread_mutex_lock(&threads_lock);
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (threads[i] == NULL) {
			threads[i] = t;
			break;
		}
	}
	pthread_mutex_unlock(&threads_lock);
}

static void
thread_delist(const struct thread *t)
{
	pthread_mutex_lock(&threads_lock);
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (threads[i] == t)
			threads[i] = NULL;
	}
	pthread_mutex_unlock(&threads_lock);
}

/* Main only: no lock. */
static struct thread *
thread_at(unsigned index)
{
	for (unsigned i = 0; i < THREADS_MAX; i++) {
		if (threads[i] != NULL && index-- == 0)
			return threads[i];
	}
	return NULL;
}

bool
thread_figures_get(unsigned index, struct thread_figures *out)
{
	struct thread *t = thread_at(index);
	struct timespec ts = {0};
	clockid_t clock;

	if (t == NULL)
		return false;
	if (pthread_getcpuclockid(t->id, &clock) == 0)
		(void)clock_gettime(clock, &ts);
	*out = (struct thread_figures){
		.name = t->config.name,
		.cpu_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec,
		.slices = &t->slices,
		.turns = &t->turns,
		.late = atomic_load_explicit(&t->late, memory_order_relaxed),
	};
	return true;
}

bool
thread_turn_get(unsigned number, struct thread_turn *out)
{
	const struct thread *t;
	const char *work;

	pthread_mutex_lock(&threads_lock);
	t = number < THREADS_MAX ? threads[number] : NULL;
	if (t != NULL) {
		work = atomic_load_explicit(t->doing, memory_order_relaxed);
		*out = (struct thread_turn){
			.adopted = t->adopted,
			.began_ns = atomic_load_explicit(&t->turn_began_ns, memory_order_relaxed),
			.doing = work != NULL ? work : "",
		};
		snprintf(out->name, sizeof(out->name), "%s", t->config.name);
	}
	pthread_mutex_unlock(&threads_lock);
	return t != NULL;
}

void
thread_turn_late(unsigned number)
{
	pthread_mutex_lock(&threads_lock);
	if (number < THREADS_MAX && threads[number] != NULL)
		atomic_fetch_add_explicit(&threads[number]->late, 1, memory_order_relaxed);
	pthread_mutex_unlock(&threads_lock);
}

/* ---- lifetime ---- */

static int
pin(const struct thread_config *c)
{
	cpu_set_t set;

	if (c->cpu_count == 0)
		return 0;
	CPU_ZERO(&set);
	for (unsigned i = 0; i < c->cpu_count; i++)
		CPU_SET(c->cpus[i], &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *
thread_main(void *arg)
{
	struct thread *t = arg;

	t->doing = &noted_work;
	pthread_setname_np(pthread_self(), t->config.name);
	t->start_result = pin(&t->config);
	if (t->start_result == 0 && t->config.start != NULL)
		t->start_result = t->config.start(t->config.ctx, t);
	sem_post(&t->started);
	if (t->start_result != 0)
		return NULL;
	thread_run(t);
	if (t->config.stop != NULL)
		t->config.stop(t->config.ctx);
	sem_post(&t->ended);
	return NULL; /* messages after this point remain for thread_drain() */
}

void
thread_drain(struct thread *t)
{
	mailbox_run(t);
}

void
thread_free(struct thread *t)
{
	struct thread_mail *m = atomic_load_explicit(&t->mailbox, memory_order_acquire), *next;

	thread_delist(t);
	in_use_end_all(t);
	for (; m != NULL; m = next) {
		next = m->next;
		if (m->allocated)
			free(m);
	}
	if (t->event_fd >= 0)
		close(t->event_fd);
	if (t->epoll_fd >= 0)
		close(t->epoll_fd);
	sem_destroy(&t->started);
	sem_destroy(&t->ended);
	pthread_mutex_destroy(&t->awake);
	free(t->heap);
	free(t);
}

static int
thread_new(const struct thread_config *c, struct thread **out)
{
	struct thread *t = aligned_alloc(alignof(struct thread), sizeof(*t));
	struct epoll_event ev;

	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->config = *c;
	snprintf(t->awaited, sizeof(t->awaited), "waiting for %.15s", c->name);
	sem_init(&t->started, 0, 0);
	sem_init(&t->ended, 0, 0);
	pthread_mutex_init(&t->awake, NULL);
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ev = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.ptr = t};
	if (t->epoll_fd < 0 || t->event_fd < 0 ||
		epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->event_fd, &ev) != 0) {
		int err = -errno;

		thread_free(t);
		return err;
	}
	*out = t;
	return 0;
}

int
thread_create(const struct thread_config *c, struct thread **out)
{
	struct thread *t;
	int err = thread_new(c, &t);

	if (err != 0)
		return err;
	/* first: what the thread tells others makes these send to the thread */
	*out = t;
	err = -pthread_create(&t->id, NULL, thread_main, t);
	if (err != 0) {
		*out = NULL;
		thread_free(t);
		return err;
	}
	while (sem_wait(&t->started) != 0 && errno == EINTR)
		;
	if (t->start_result != 0) {
		err = t->start_result;
		pthread_join(t->id, NULL);
		*out = NULL;
		thread_free(t);
		return err;
	}
	thread_enlist(t);
	return 0;
}

int
thread_adopt(const struct thread_config *c, struct thread **out)
{
	struct thread *t;
	int err = thread_new(c, &t);

	if (err != 0)
		return err;
	t->adopted = true;
	t->doing = &noted_work;
	t->id = pthread_self();
	err = pin(c);
	if (err == 0 && c->start != NULL)
		err = c->start(c->ctx, t);
	if (err != 0) {
		thread_free(t);
		return err;
	}
	thread_enlist(t);
	*out = t;
	return 0;
}

void
thread_quit(struct thread *t)
{
	atomic_store_explicit(&t->quit, true, memory_order_release);
	event_fd_ring(t);
}

void
thread_end(struct thread *t)
{
	if (t->adopted)
		return;
	thread_delist(t); /* the watchdog must not see an ended thread */
	thread_quit(t);
	pthread_join(t->id, NULL);
}

bool
thread_end_within(struct thread *t, uint64_t patience_ns)
{
	uint64_t until = now_ns() + patience_ns;
	struct timespec ts = {
		.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};

	thread_delist(t);
	thread_quit(t);
	while (sem_clockwait(&t->ended, CLOCK_MONOTONIC, &ts) != 0) {
		if (errno != EINTR)
			return false;
	}
	pthread_join(t->id, NULL);
	return true;
}
