/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/threads.h"

#include "tests/lpm/rng.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <cmocka.h>

#ifdef KEEL_SANITIZED
#define ROUNDS 4000
#else
#define ROUNDS 10000
#endif
#define PATIENCE_NS 300000000000u /* the machine is shared: only a failing test takes this long */

static uint64_t rng_state = 0x7468726561647321u;

static unsigned
below(unsigned n)
{
	return (unsigned)(splitmix64(&rng_state) % n);
}

/*
 * A thread under test: counts turns, and checks that no callback runs while the thread is offline.
 */
struct subject {
	struct thread *thread;
	pthread_t id;
	bool slow_work; /* yields before work() returns: a wake-up meets the moment before sleep */
	bool busy_work; /* work() always reports more */
	_Atomic bool online; /* between busy() and idle() */
	_Atomic unsigned works, idles, stops, offline_calls;
	_Atomic uint64_t wanted, seen;
	_Atomic bool stopped;
};

static void
here(struct subject *s)
{
	if (!atomic_load(&s->online))
		atomic_fetch_add(&s->offline_calls, 1);
}

static int
subject_start(void *ctx, struct thread *self)
{
	struct subject *s = ctx;

	s->thread = self;
	s->id = pthread_self();
	return 0;
}

static void
subject_stop(void *ctx)
{
	struct subject *s = ctx;

	atomic_fetch_add(&s->stops, 1);
	atomic_store(&s->stopped, true);
}

static bool
subject_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct subject *s = ctx;

	here(s);
	if (deadline != now + SLICE_NS || !pthread_equal(pthread_self(), s->id))
		atomic_fetch_add(&s->offline_calls, 1000);
	atomic_fetch_add(&s->works, 1);
	/* release: publishes the value of `wanted`; the relaxed load relies on thread_wake alone */
	atomic_store_explicit(&s->seen, atomic_load_explicit(&s->wanted, memory_order_relaxed),
		memory_order_release);
	if (s->slow_work)
		sched_yield();
	return s->busy_work;
}

static void
subject_idle(void *ctx)
{
	struct subject *s = ctx;

	atomic_store(&s->online, false);
	atomic_fetch_add(&s->idles, 1);
}

static void
subject_busy(void *ctx)
{
	atomic_store(&((struct subject *)ctx)->online, true);
}

static struct thread_config
subject_config(struct subject *s)
{
	return (struct thread_config){.name = "subject",
		.ctx = s,
		.start = subject_start,
		.stop = subject_stop,
		.work = subject_work,
		.idle = subject_idle,
		.busy = subject_busy};
}

static void
subject_begin(struct subject *s)
{
	struct thread_config c = subject_config(s);

	assert_int_equal(thread_create(&c, &s->thread), 0);
}

static void
subject_end(struct subject *s)
{
	thread_end(s->thread);
	assert_int_equal(s->stops, 1);
	assert_int_equal(s->offline_calls, 0);
	thread_free(s->thread);
}

/* Waits for progress of the other thread. */
#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		uint64_t until_ = now_ns() + PATIENCE_NS;                                          \
		while (!(condition)) {                                                             \
			assert_true(now_ns() < until_);                                            \
			sched_yield();                                                             \
		}                                                                                  \
	} while (0)

/* ---- timers ---- */

#define TIMERS 1000

struct test_timer {
	struct timer timer;
	uint64_t due_ns; /* 0: must not fire */
	unsigned fired;
};

static struct subject *timer_subject;
static struct test_timer timers[TIMERS];
static unsigned timers_left;
static uint64_t last_due_ns;
static bool out_of_order, too_early, wrong;

static void
timer_fire(struct timer *t)
{
	struct test_timer *x = (struct test_timer *)t;

	here(timer_subject);
	wrong |= x->due_ns == 0 || t->deadline_ns != 0;
	too_early |= now_ns() < x->due_ns;
	out_of_order |= x->due_ns < last_due_ns;
	last_due_ns = x->due_ns;
	x->due_ns = 0;
	x->fired++;
	if (--timers_left == 0)
		thread_quit(timer_subject->thread);
}

static void
timer_set(struct test_timer *x, uint64_t delay_ns)
{
	timers_left += x->due_ns == 0;
	assert_int_equal(timer_arm(timer_subject->thread, &x->timer, delay_ns), 0);
	x->due_ns = x->timer.deadline_ns;
}

static void
test_timers_fire_in_order(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);

	(void)state;
	memset(timers, 0, sizeof(timers));
	timers_left = 0;
	last_due_ns = 0;
	out_of_order = too_early = wrong = false;
	timer_subject = &s;
	assert_int_equal(thread_adopt(&c, &s.thread), 0);
	for (unsigned i = 0; i < TIMERS; i++)
		timers[i].timer.fire = timer_fire;
	/* armed, moved and cancelled at random */
	for (unsigned n = 0; n < 10 * TIMERS; n++) {
		struct test_timer *x = &timers[below(TIMERS)];

		if (below(3)) {
			timer_set(x, below(20000000));
		} else {
			timer_cancel(s.thread, &x->timer);
			assert_int_equal(x->timer.deadline_ns, 0);
			timers_left -= x->due_ns != 0;
			x->due_ns = 0;
		}
	}
	assert_true(timers_left > TIMERS / 2);
	assert_int_equal(thread_run(s.thread), 0);
	assert_false(out_of_order);
	assert_false(too_early);
	assert_false(wrong);
	for (unsigned i = 0; i < TIMERS; i++) {
		assert_int_equal(timers[i].due_ns, 0);
		assert_true(timers[i].fired <= 1);
	}
	assert_int_equal(s.offline_calls, 0);
	thread_free(s.thread);
}

static struct {
	struct timer again, victim, end;
	unsigned count, works_at_end;
	struct subject *s;
} rearm;

static void
rearm_fire(struct timer *t)
{
	/* a timer due at the same time can still be cancelled */
	timer_cancel(rearm.s->thread, &rearm.victim);
	if (++rearm.count < 1000)
		timer_arm(rearm.s->thread, t, 0);
	else
		thread_quit(rearm.s->thread);
}

static void
never_fire(struct timer *t)
{
	(void)t;
	wrong = true;
}

/* A timer that is always due leaves other timers their turns. */
static void
test_timer_arms_itself(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);

	(void)state;
	wrong = false;
	memset(&rearm, 0, sizeof(rearm));
	rearm.s = &s;
	rearm.again.fire = rearm_fire;
	rearm.victim.fire = never_fire;
	assert_int_equal(thread_adopt(&c, &s.thread), 0);
	assert_int_equal(timer_arm(s.thread, &rearm.again, 0), 0);
	assert_int_equal(timer_arm(s.thread, &rearm.victim, 0), 0);
	thread_run(s.thread);
	assert_int_equal(rearm.count, 1000);
	assert_false(wrong);
	assert_true(s.works >= 1000);
	thread_free(s.thread);
}

/* A deadline at the end of time does not fire now. */
static void
test_far_timers(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);
	struct timer far[4] = {{.fire = never_fire}, {.fire = never_fire}, {.fire = never_fire},
		{.fire = never_fire}};

	(void)state;
	memset(timers, 0, sizeof(timers));
	timers_left = 0;
	last_due_ns = 0;
	out_of_order = too_early = wrong = false;
	timer_subject = &s;
	assert_int_equal(thread_adopt(&c, &s.thread), 0);
	timer_arm(s.thread, &far[0], UINT64_MAX);
	timer_arm(s.thread, &far[1], UINT64_MAX - now_ns() / 2);
	timer_arm(s.thread, &far[2], 30u * 86400 * 1000000000ull);
	timer_arm(s.thread, &far[3], (1ull << 32) * 1000000); /* 2^32 ms */
	timers[0].timer.fire = timer_fire;
	timer_set(&timers[0], 5000000);
	thread_run(s.thread);
	assert_false(wrong);
	assert_int_equal(timers[0].fired, 1);
	assert_true(s.works < 100); /* the thread slept */
	thread_free(s.thread);
}

/*
 * A thread with several deadlines wakes at the earliest, in whatever order the deadlines were set.
 */
static void
test_sooner_moves_to_what_is_sooner(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);
	struct timer t = {.fire = never_fire};
	uint64_t began = now_ns(), at;

	(void)state;
	assert_int_equal(thread_adopt(&c, &s.thread), 0);
	assert_int_equal(timer_arm_sooner(s.thread, &t, 20000000000), 0);
	assert_true(t.deadline_ns >= began + 20000000000);
	assert_int_equal(timer_arm_sooner(s.thread, &t, 5000000000), 0);
	assert_true(t.deadline_ns >= began + 5000000000);
	assert_true(t.deadline_ns < began + 20000000000);
	at = t.deadline_ns;
	assert_int_equal(timer_arm_sooner(s.thread, &t, 20000000000), 0);
	assert_int_equal(timer_arm_sooner(s.thread, &t, UINT64_MAX), 0);
	assert_int_equal(t.deadline_ns, at);
	timer_cancel(s.thread, &t);
	assert_int_equal(timer_arm_sooner(s.thread, &t, UINT64_MAX), 0);
	assert_true(t.deadline_ns == UINT64_MAX);
	/* the timer fires at this deadline */
	memset(timers, 0, sizeof(timers));
	timers_left = 1;
	last_due_ns = 0;
	out_of_order = too_early = wrong = false;
	timer_subject = &s;
	timers[0].timer.fire = timer_fire;
	timer_arm(s.thread, &timers[0].timer, 20000000000);
	timer_arm_sooner(s.thread, &timers[0].timer, 5000000);
	timers[0].due_ns = timers[0].timer.deadline_ns;
	thread_run(s.thread);
	assert_int_equal(timers[0].fired, 1);
	assert_true(now_ns() < began + 20000000000);
	assert_false(wrong);
	assert_false(too_early);
	thread_free(s.thread);
}

/* ---- mailbox ---- */

#define POSTERS 3

struct post {
	struct subject *s;
	unsigned poster, sequence;
};

static unsigned received[POSTERS];
static _Atomic unsigned received_all;

static void
on_post(void *arg)
{
	struct post *p = arg;

	here(p->s);
	wrong |= !pthread_equal(pthread_self(), p->s->id) || received[p->poster] != p->sequence;
	received[p->poster]++;
	free(p);
	atomic_fetch_add(&received_all, 1);
}

struct poster {
	pthread_t id;
	struct subject *s;
	unsigned number;
};

static void *
poster_main(void *arg)
{
	struct poster *me = arg;

	for (unsigned i = 0; i < 5 * ROUNDS; i++) {
		struct post *p = malloc(sizeof(*p));

		*p = (struct post){me->s, me->number, i};
		if (thread_post(me->s->thread, on_post, p) != 0)
			abort();
	}
	return NULL;
}

static void
test_mail_keeps_its_order(void **state)
{
	struct subject s = {0};
	struct poster posters[POSTERS];

	(void)state;
	wrong = false;
	received_all = 0;
	memset(received, 0, sizeof(received));
	subject_begin(&s);
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){.s = &s, .number = i};
		assert_int_equal(pthread_create(&posters[i].id, NULL, poster_main, &posters[i]), 0);
	}
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(posters[i].id, NULL);
	AWAIT(atomic_load(&received_all) == POSTERS * 5 * ROUNDS);
	subject_end(&s);
	assert_false(wrong);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(received[i], 5 * ROUNDS);
}

static void
add_one(void *arg)
{
	++*(unsigned *)arg; /* without a lock: thread_call orders the accesses */
}

static void
test_call_waits(void **state)
{
	struct subject s = {0};
	unsigned count = 0;

	(void)state;
	subject_begin(&s);
	for (unsigned i = 0; i < ROUNDS; i++) {
		assert_int_equal(thread_call(s.thread, add_one, &count), 0);
		assert_int_equal(count, i + 1);
	}
	subject_end(&s);
}

/* ---- wake ---- */

struct waker {
	pthread_t id;
	struct subject *s;
	unsigned lost;
};

/*
 * Each round waits until work() has seen the value: a lost wake-up ends the round, as nothing else
 * wakes the thread.
 */
static void *
waker_main(void *arg)
{
	struct waker *me = arg;

	for (unsigned i = 0; i < ROUNDS && me->lost == 0; i++) {
		uint64_t mine =
			atomic_fetch_add_explicit(&me->s->wanted, 1, memory_order_relaxed) + 1;
		uint64_t until = now_ns() + PATIENCE_NS;

		thread_wake(me->s->thread);
		while (atomic_load_explicit(&me->s->seen, memory_order_acquire) < mine) {
			if (now_ns() > until) {
				me->lost++;
				break;
			}
			sched_yield();
		}
	}
	return NULL;
}

static void
test_no_wake_is_lost(void **state)
{
	for (unsigned wakers = 1; wakers <= 3; wakers++) {
		struct subject s = {.slow_work = true};
		struct waker w[3];

		(void)state;
		subject_begin(&s);
		for (unsigned i = 0; i < wakers; i++) {
			w[i] = (struct waker){.s = &s};
			assert_int_equal(pthread_create(&w[i].id, NULL, waker_main, &w[i]), 0);
		}
		for (unsigned i = 0; i < wakers; i++) {
			pthread_join(w[i].id, NULL);
			assert_int_equal(w[i].lost, 0);
		}
		assert_true(s.idles > 0);
		subject_end(&s);
	}
}

/* ---- work of a sleeping thread ---- */

/* The members without _Atomic belong to whoever runs the work: ThreadSanitizer watches. */
struct lender {
	struct thread *thread;
	pthread_t id;
	struct timer timer;
	_Atomic unsigned todo, done, mails;
	_Atomic bool inside, twice;
	unsigned taken, lent, armed, fired;
	_Atomic unsigned fires;
};

static void
lender_fire(struct timer *t)
{
	struct lender *l = (struct lender *)(void *)((char *)t - offsetof(struct lender, timer));

	l->fired++;
	atomic_store(&l->fires, l->fired);
}

static int
lender_start(void *ctx, struct thread *self)
{
	struct lender *l = ctx;

	l->thread = self;
	l->id = pthread_self();
	l->timer.fire = lender_fire;
	return 0;
}

/* Takes at most three items. Each 64th item arms the timer. */
static bool
lender_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct lender *l = ctx;
	unsigned n = 0;

	(void)now;
	(void)deadline;
	if (atomic_exchange(&l->inside, true))
		atomic_store(&l->twice, true);
	for (; n < 3 && atomic_load(&l->todo) > 0; n++) {
		atomic_fetch_sub(&l->todo, 1);
		l->lent += !pthread_equal(pthread_self(), l->id);
		if (++l->taken % 64 == 0 && l->timer.deadline_ns == 0 &&
			timer_arm(l->thread, &l->timer, 100000) == 0)
			l->armed++;
	}
	atomic_store(&l->inside, false);
	atomic_fetch_add(&l->done, n);
	return atomic_load(&l->todo) > 0;
}

static bool
lender_help(void *ctx, uint64_t now, uint64_t deadline)
{
	return deadline == now + HELP_NS && !lender_work(ctx, now, deadline);
}

static void
lender_mail(void *arg)
{
	struct lender *l = arg;

	l->taken++;
	atomic_fetch_add(&l->mails, 1);
}

struct borrower {
	pthread_t id;
	struct lender *l;
	uint64_t seed;
	unsigned added, mailed;
};

static void *
borrower_main(void *arg)
{
	struct borrower *b = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned how = (unsigned)(splitmix64(&b->seed) % 16), n = 1 + how % 5;

		b->added += n;
		atomic_fetch_add(&b->l->todo, n);
		if (how == 0 && thread_post(b->l->thread, lender_mail, b->l) == 0)
			b->mailed++;
		if (how == 1)
			thread_wake(b->l->thread);
		else
			thread_do(b->l->thread);
		if (how > 12)
			sched_yield();
	}
	return NULL;
}

/* No two calls of work() overlap, no item is lost, and timers armed by work() fire. */
static void
test_work_of_a_sleeper(void **state)
{
	struct lender l = {0};
	struct thread_config c = {.name = "lender",
		.ctx = &l,
		.start = lender_start,
		.work = lender_work,
		.help = lender_help};
	struct borrower b[2] = {{.l = &l, .seed = 1}, {.l = &l, .seed = 2}};

	(void)state;
	assert_int_equal(thread_create(&c, &l.thread), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&b[i].id, NULL, borrower_main, &b[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(b[i].id, NULL);
	AWAIT(atomic_load(&l.done) == b[0].added + b[1].added);
	AWAIT(atomic_load(&l.mails) == b[0].mailed + b[1].mailed);
	thread_end(l.thread);
	assert_false(l.twice);
	assert_true(l.lent > 0);
	assert_true(l.armed > 0);
	assert_true(l.fired + (l.timer.deadline_ns != 0) == l.armed);
	thread_free(l.thread);
}

/* A timer armed by borrowed work wakes the thread from a sleep without limit. */
static void
test_borrowed_work_arms_a_timer(void **state)
{
	struct lender l = {.taken = 63};
	struct thread_config c = {.name = "lender",
		.ctx = &l,
		.start = lender_start,
		.work = lender_work,
		.help = lender_help};

	(void)state;
	assert_int_equal(thread_create(&c, &l.thread), 0);
	for (unsigned n = 1; n <= 20; n++) {
		atomic_fetch_add(&l.todo, 64);
		thread_do(l.thread);
		AWAIT(atomic_load(&l.fires) >= n);
	}
	thread_end(l.thread);
	thread_free(l.thread);
}

/* ---- descriptors ---- */

struct test_watch {
	struct watch w;
	struct subject *s;
	unsigned calls;
	uint32_t events;
	struct test_watch **others; /* closed and freed by the first callback */
	unsigned other_count;
};

static _Atomic unsigned watch_calls;

static void
watch_ready(struct watch *w, uint32_t events)
{
	struct test_watch *x = (struct test_watch *)w;
	char c;

	here(x->s);
	x->calls++;
	x->events = events;
	if (events & EPOLLIN)
		wrong |= read(w->fd, &c, 1) != 1;
	if (events & EPOLLOUT)
		wrong |= watch_set(x->s->thread, w, EPOLLIN) != 0;
	atomic_fetch_add(&watch_calls, 1);
}

struct watch_command {
	struct test_watch *x;
	uint32_t events;
	int result;
};

static void
on_watch_set(void *arg)
{
	struct watch_command *c = arg;

	c->result = watch_set(c->x->s->thread, &c->x->w, c->events);
}

static int
watch_call(struct test_watch *x, uint32_t events)
{
	struct watch_command c = {x, events, 1};

	thread_call(x->s->thread, on_watch_set, &c);
	return c.result;
}

static void
write_one(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
test_watch_comes_changes_goes(void **state)
{
	struct subject s = {0};
	struct test_watch in = {.w.ready = watch_ready, .s = &s},
			  out = {.w.ready = watch_ready, .s = &s};
	int pipe_fd[2];

	(void)state;
	wrong = false;
	watch_calls = 0;
	assert_int_equal(pipe(pipe_fd), 0);
	in.w.fd = pipe_fd[0];
	out.w.fd = pipe_fd[1];
	subject_begin(&s);
	assert_int_equal(watch_call(&in, EPOLLIN), 0);
	write_one(pipe_fd[1]);
	AWAIT(atomic_load(&watch_calls) == 1);
	/* one call for each octet: level-triggered, and read */
	write_one(pipe_fd[1]);
	AWAIT(atomic_load(&watch_calls) == 2);
	/* ready for output at once; the callback disables EPOLLOUT */
	assert_int_equal(watch_call(&out, EPOLLOUT), 0);
	AWAIT(atomic_load(&watch_calls) == 3);
	thread_call(s.thread, nothing, NULL);
	assert_int_equal(out.calls, 1);
	assert_true(out.events & EPOLLOUT);
	assert_int_equal(watch_call(&out, 0), 0);
	/* removed twice, and added again */
	assert_int_equal(watch_call(&in, 0), 0);
	assert_int_equal(watch_call(&in, 0), 0);
	write_one(pipe_fd[1]);
	for (unsigned i = 0; i < 10; i++)
		thread_call(s.thread, nothing, NULL);
	assert_int_equal(in.calls, 2);
	assert_int_equal(watch_call(&in, EPOLLIN), 0);
	AWAIT(atomic_load(&watch_calls) == 4);
	/* the far end closes: reported until removed */
	close(pipe_fd[1]);
	assert_int_equal(watch_call(&in, 0), 0);
	close(pipe_fd[0]);
	assert_int_equal(watch_call(&in, EPOLLIN), -EBADF);
	subject_end(&s);
}

static void
closing_ready(struct watch *w, uint32_t events)
{
	struct test_watch *x = (struct test_watch *)w;
	struct test_watch **others = x->others;
	struct thread *thread = x->s->thread;
	unsigned count = x->other_count;

	(void)events;
	here(x->s);
	/* including this watch: the loop must not touch freed watches */
	for (unsigned i = 0; i < count; i++) {
		wrong |= watch_set(thread, &others[i]->w, 0) != 0;
		close(others[i]->w.fd);
		free(others[i]);
	}
	atomic_fetch_add(&watch_calls, 1);
}

#define MANY 20

static void
on_watch_all(void *arg)
{
	struct test_watch **all = arg;

	for (unsigned i = 0; i < MANY; i++)
		wrong |= watch_set(all[i]->s->thread, &all[i]->w, EPOLLIN) != 0;
}

/*
 * A watch ready in the same turn, but closed and freed by another callback, is not called (checked
 * by ASan).
 */
static void
test_callback_closes_others(void **state)
{
	struct subject s = {0};
	struct test_watch *all[MANY];
	int write_end[MANY];

	(void)state;
	watch_calls = 0;
	subject_begin(&s);
	for (unsigned i = 0; i < MANY; i++) {
		int pipe_fd[2];

		assert_int_equal(pipe(pipe_fd), 0);
		all[i] = calloc(1, sizeof(*all[i]));
		*all[i] = (struct test_watch){.w = {pipe_fd[0], closing_ready},
			.s = &s,
			.others = all,
			.other_count = MANY};
		write_end[i] = pipe_fd[1];
	}
	/* ready before watched, and watched by one message: all become ready in one turn */
	for (unsigned i = 0; i < MANY; i++)
		write_one(write_end[i]);
	thread_call(s.thread, on_watch_all, all);
	AWAIT(atomic_load(&watch_calls) > 0);
	thread_call(s.thread, nothing, NULL);
	thread_call(s.thread, nothing, NULL);
	assert_int_equal(watch_calls, 1);
	subject_end(&s);
	for (unsigned i = 0; i < MANY; i++)
		close(write_end[i]);
}

/* Descriptors that are always ready do not delay mail, timers and each other. */
static void
busy_ready(struct watch *w, uint32_t events)
{
	struct test_watch *x = (struct test_watch *)w;

	(void)events;
	here(x->s);
	x->calls++;
	atomic_fetch_add(&watch_calls, 1);
}

static void
test_busy_descriptors_share(void **state)
{
	enum { BUSY = 100 };
	struct subject s = {0};
	static struct test_watch all[BUSY];
	int pipe_fd[2];
	unsigned count = 0;

	(void)state;
	watch_calls = 0;
	assert_int_equal(pipe(pipe_fd), 0);
	write_one(pipe_fd[1]);
	subject_begin(&s);
	for (unsigned i = 0; i < BUSY; i++) {
		all[i] = (struct test_watch){.w = {dup(pipe_fd[0]), busy_ready}, .s = &s};
		assert_int_equal(watch_call(&all[i], EPOLLIN), 0);
	}
	for (unsigned i = 0; i < 100; i++)
		thread_call(s.thread, add_one, &count);
	AWAIT(atomic_load(&watch_calls) > 100 * BUSY);
	thread_end(s.thread);
	for (unsigned i = 0; i < BUSY; i++) {
		assert_true(all[i].calls > 0);
		close(all[i].w.fd);
	}
	assert_int_equal(s.offline_calls, 0);
	thread_free(s.thread);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* ---- life ---- */

static void
forward_wake(void *arg)
{
	atomic_store((_Atomic bool *)arg, true);
}

/* Endless work does not delay the end of the thread; later messages run only when drained. */
static void
test_quit_while_busy(void **state)
{
	struct subject s = {.busy_work = true};
	_Atomic bool early = false, late = false;

	(void)state;
	subject_begin(&s);
	AWAIT(atomic_load(&s.works) > 100);
	assert_int_equal(thread_post(s.thread, forward_wake, &early), 0);
	AWAIT(atomic_load(&early));
	thread_end(s.thread);
	assert_true(s.stopped);
	assert_int_equal(s.stops, 1);
	assert_int_equal(thread_post(s.thread, forward_wake, &late), 0);
	thread_wake(s.thread);
	assert_false(late);
	thread_drain(s.thread);
	assert_true(late);
	/* undrained messages are not leaked */
	assert_int_equal(thread_post(s.thread, forward_wake, &late), 0);
	thread_free(s.thread);
}

struct stopping {
	struct subject *s;
	_Atomic unsigned after_stop;
};

static void
on_late(void *arg)
{
	struct stopping *x = arg;

	if (atomic_load(&x->s->stopped) && pthread_equal(pthread_self(), x->s->id))
		atomic_fetch_add(&x->after_stop, 1);
}

static void
stop_and_post(void *ctx)
{
	struct subject *s = ctx;
	static struct stopping x;

	subject_stop(ctx);
	x.s = s;
	/* as another thread could do now: the data of the receiver is freed already */
	thread_post(s->thread, on_late, &x);
	s->wanted = (uint64_t)(uintptr_t)&x;
}

static void
test_nothing_runs_after_stop(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);

	(void)state;
	c.stop = stop_and_post;
	assert_int_equal(thread_create(&c, &s.thread), 0);
	thread_end(s.thread);
	assert_int_equal(((struct stopping *)(uintptr_t)s.wanted)->after_stop, 0);
	thread_drain(s.thread);
	thread_free(s.thread);
}

static int
start_fails(void *ctx, struct thread *self)
{
	(void)ctx;
	(void)self;
	return -EADDRINUSE;
}

static void
get_name(void *arg)
{
	pthread_getname_np(pthread_self(), arg, 16);
}

static struct thread *known; /* by other threads */

static int
start_is_known(void *ctx, struct thread *self)
{
	return known == self ? 0 : -ENOENT;
}

/* Others can answer what a thread says in start(). */
static void
test_known_at_start(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);

	c.start = start_is_known;
	assert_int_equal(thread_create(&c, &known), 0);
	thread_end(known);
	thread_free(known);
	known = NULL;
	c.start = start_fails;
	assert_int_equal(thread_create(&c, &known), -EADDRINUSE);
	assert_null(known);
}

static void
get_cpus(void *arg)
{
	sched_getaffinity(0, sizeof(cpu_set_t), arg);
}

static void
test_create(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);
	cpu_set_t mine, got;
	char name[16];
	unsigned cpu = 0, absent = CPU_SETSIZE - 1;

	(void)state;
	c.start = start_fails;
	assert_int_equal(thread_create(&c, &s.thread), -EADDRINUSE);
	assert_int_equal(s.stops, 0);
	c.start = subject_start;
	sched_getaffinity(0, sizeof(mine), &mine);
	while (!CPU_ISSET(cpu, &mine))
		cpu++;
	c.cpu_count = 1;
	c.cpus = &absent;
	assert_int_equal(thread_create(&c, &s.thread), -EINVAL);
	c.cpus = &cpu;
	assert_int_equal(thread_create(&c, &s.thread), 0);
	thread_call(s.thread, get_name, name);
	assert_string_equal(name, "subject");
	thread_call(s.thread, get_cpus, &got);
	assert_int_equal(CPU_COUNT(&got), 1);
	assert_true(CPU_ISSET(cpu, &got));
	subject_end(&s);
}

/* ---- figures ---- */

#define LONG_NS 3000000u

static bool
long_work(void *ctx, uint64_t now, uint64_t deadline)
{
	(void)deadline;
	if (atomic_fetch_add(&((struct subject *)ctx)->works, 1) < 5) {
		while (now_ns() < now + LONG_NS)
			sched_yield();
		return true;
	}
	return false;
}

static void
do_nothing(void *arg)
{
	(void)arg;
}

/* Copies the figures of the thread with this name; returns the number of such threads. */
static unsigned
figures_of(const char *name, struct thread_figures *out)
{
	struct thread_figures f;
	unsigned found = 0;

	for (unsigned i = 0; thread_figures_get(i, &f); i++) {
		if (strcmp(f.name, name) == 0) {
			*out = f;
			found++;
		}
	}
	return found;
}

static void
test_long_slices_are_counted(void **state)
{
	struct subject s = {0};
	struct thread_config c = subject_config(&s);
	struct hist_summary slices, turns;
	struct thread_figures f = {0};
	const struct hist *h;

	(void)state;
	c.name = "figures";
	c.work = long_work;
	assert_int_equal(figures_of("figures", &f), 0);
	assert_int_equal(thread_create(&c, &s.thread), 0);
	AWAIT(atomic_load(&s.works) > 5);
	thread_call(s.thread, do_nothing, NULL);
	assert_int_equal(figures_of("figures", &f), 1);
	hist_summarize((h = f.slices, &h), 1, &slices);
	hist_summarize((h = f.turns, &h), 1, &turns);
	/* the five turns, plus turns prolonged by the scheduler */
	assert_true(slices.count >= 5);
	assert_true(slices.max >= LONG_NS);
	assert_true(slices.min >= FIGURES_FROM_NS);
	assert_true(turns.count >= 5);
	assert_true(turns.max >= LONG_NS);
	assert_true(f.cpu_ns > 0);
	thread_end(s.thread);
	assert_int_equal(figures_of("figures", &f), 0);
	thread_free(s.thread);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_in_order),
		cmocka_unit_test(test_timer_arms_itself),
		cmocka_unit_test(test_far_timers),
		cmocka_unit_test(test_sooner_moves_to_what_is_sooner),
		cmocka_unit_test(test_mail_keeps_its_order),
		cmocka_unit_test(test_call_waits),
		cmocka_unit_test(test_no_wake_is_lost),
		cmocka_unit_test(test_work_of_a_sleeper),
		cmocka_unit_test(test_borrowed_work_arms_a_timer),
		cmocka_unit_test(test_watch_comes_changes_goes),
		cmocka_unit_test(test_callback_closes_others),
		cmocka_unit_test(test_busy_descriptors_share),
		cmocka_unit_test(test_quit_while_busy),
		cmocka_unit_test(test_nothing_runs_after_stop),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_known_at_start),
		cmocka_unit_test(test_long_slices_are_counted),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
