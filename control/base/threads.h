/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The only pthread_create: named, pinned threads, each with an epoll loop, timers, a mailbox and a work function.
 *
 * A thread's loop: mailbox, timers, work(), then file descriptors; it sleeps in epoll only when work() had nothing left.
 * The thread that owns a socket runs its timers, between slices of at most 1 ms.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/hist.h"

struct thread;

#define THREADS_MAX 64
#define SLICE_NS 1000000u /* of work() between two looks at timers and sockets */

struct thread_config {
	const char *name; /* at most 15 bytes */
	const unsigned *cpus; /* may be NULL: anywhere */
	unsigned cpu_count;
	void *ctx;
	int (*start)(void *ctx,
		struct thread *
			self); /* first on the new thread; 0 or -errno, which thread_create returns */
	void (*stop)(void *ctx); /* last on the thread */
	/* One slice; true while there is more. May be NULL. Monotonic ns. */
	bool (*work)(void *ctx, uint64_t now_ns, uint64_t deadline_ns);
	/* Around an epoll_wait that may sleep, and nothing else: go offline in, and online out of, QSBRs. May be NULL. */
	void (*idle)(void *ctx);
	void (*busy)(void *ctx);
	bool unlisted; /* excluded from figures and not watched, as work() may block without limit */
};

/* Waits for start(). 0, -errno. */
int thread_create(const struct thread_config *c, struct thread **out);
/* The calling thread itself becomes one (main); returns when thread_quit() was called. */
int thread_adopt(const struct thread_config *c, struct thread **out);
int thread_run(struct thread *t);
void thread_quit(struct thread *t);
/* Asks it to end and waits for stop(). Others may still post to it and wake it: nothing of that runs. */
void thread_end(struct thread *t);
/* thread_end() with a time limit. False: the thread still runs and must not be freed; the call may be repeated. */
bool thread_end_within(struct thread *t, uint64_t patience_ns);
/* After all threads have ended: runs, on the caller, what was posted to `t` too late, so that its receivers can free it. */
void thread_drain(struct thread *t);
/* After thread_end(), when nobody can reach it any more. */
void thread_free(struct thread *t);

/* Any thread. Runs fn(arg) on `t`, in order; does not wait. 0, -ENOMEM. */
int thread_post(struct thread *t, void (*fn)(void *arg), void *arg);
/* One message in memory of the sender. The fields belong to threads.c. */
struct thread_mail {
	struct thread_mail *next;
	void (*fn)(void *arg);
	void *arg;
	void *done; /* sem_t: thread_call() waits for this */
	const char *doing; /* of the sender, by thread_call() */
	bool allocated; /* by thread_post() */
};
/* thread_post() that cannot fail: `m` is lent until fn runs, and fn may free or reuse `m`. */
void thread_send(struct thread *t, struct thread_mail *m, void (*fn)(void *arg), void *arg);
/* Main only (so that no two threads wait for each other): runs fn(arg) on `t` and waits for it. */
int thread_call(struct thread *t, void (*fn)(void *arg), void *arg);
/* Main only: the same on `count` threads at once, fn(arg[i]) on t[i]; waits for all of them. */
int thread_call_each(
	struct thread *const *t, unsigned count, void (*fn)(void *arg), void *const *arg);
/* Any thread: makes a sleeping thread call work(). Costs one locked instruction when it is awake. */
void thread_wake(struct thread *t);

/* ---- the thread's own ---- */

struct timer {
	uint64_t deadline_ns; /* 0: not armed */
	unsigned heap_index;
	void (*fire)(struct timer *t);
};
/* Arms or moves. `delay_ns` from now. 0, -ENOMEM (then it is not armed). */
int timer_arm(struct thread *t, struct timer *timer, uint64_t delay_ns);
/* Arms; moves to an earlier time alone. As timer_arm(). */
int timer_arm_sooner(struct thread *t, struct timer *timer, uint64_t delay_ns);
void timer_cancel(struct thread *t, struct timer *timer);

struct watch {
	int fd;
	void (*ready)(struct watch *w, uint32_t epoll_events);
};
/* events: EPOLLIN, EPOLLOUT. Again with other events: changes them; 0 events: forgets it. 0, -errno. */
int watch_set(struct thread *t, struct watch *w, uint32_t epoll_events);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* ---- how the threads do, always counted; main only ---- */

/* A shorter call or turn found nothing to do, or next to nothing: counted, these would be all that a percentile shows. */
#define FIGURES_FROM_NS 10000u

struct thread_figures {
	const char *name;
	uint64_t cpu_ns; /* processor time since its start */
	const struct hist *slices; /* a call of work(), which has SLICE_NS */
	uint64_t late; /* turns of 1 s and more (control/base/watchdog.h) */
	const struct hist *
		turns; /* all between two looks at its timers, but for sleep: mailbox, timers, work, descriptors */
};
/* The one of that index among the threads that there are; false: there are not so many. */
bool thread_figures_get(unsigned index, struct thread_figures *out);

/* ---- for the watchdog: any thread ---- */

struct thread_turn {
	char name[16];
	bool adopted; /* main */
	uint64_t began_ns; /* of the running turn; 0: the thread sleeps */
	const char *doing; /* lpm/note_work.h; never NULL */
};
/* The running turn of the thread with this number, which a thread keeps for its life. False: no such thread. */
bool thread_turn_get(unsigned number, struct thread_turn *out);
/* Counts a late turn. */
void thread_turn_late(unsigned number);
