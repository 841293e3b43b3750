/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The only caller of pthread_create: named, pinned threads, each with an epoll loop, timers, a
 * mailbox and a work function.
 *
 * A turn of the loop runs the mailbox, the timers, work(), then the file descriptors. The thread
 * sleeps in epoll only if work() returned false. Timers and watches belong to their thread and run
 * between slices of at most SLICE_NS.
 *
 * Whoever frees memory first cancels its timers, removes its watches (before close()), and owns no
 * message on its way with the memory as argument: lpm/base/in_use.h.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/hist.h"

struct thread;

#define THREADS_MAX 64
/* maximum length of a slice: work() between two checks of timers and sockets */
#define SLICE_NS 250000u
/* the same of help(): no more than the changes of threads that it saves */
#define HELP_NS 50000u

struct thread_config {
	const char *name; /* at most 15 bytes */
	const unsigned *cpus; /* may be NULL: not pinned */
	unsigned cpu_count;
	void *ctx;
	/* called first on the new thread; 0 or -errno, which thread_create() returns */
	int (*start)(void *ctx, struct thread *self);
	void (*stop)(void *ctx); /* called last on the thread */
	/* Runs one slice; true while there is more. May be NULL. Monotonic ns. */
	bool (*work)(void *ctx, uint64_t now_ns, uint64_t deadline_ns);
	/*
	 * Called before and after an epoll_wait that may sleep: readers of QSBRs go offline and
	 * online here. May be NULL.
	 */
	void (*idle)(void *ctx);
	void (*busy)(void *ctx);
	/*
	 * Small work, called on another thread by thread_do() while this thread sleeps. Touches
	 * what belongs to this thread, and nothing that belongs to the caller. True if nothing is
	 * left to do; false: this thread wakes. May be NULL.
	 */
	bool (*help)(void *ctx, uint64_t now_ns, uint64_t deadline_ns);
	bool unlisted; /* excluded from figures and not watched: work() may block without limit */
};

/*
 * Starts a thread and waits for start(). 0, -errno. `*out` is written before the thread runs: threads
 * that hear from it can answer at once. After an error `*out` is NULL.
 */
int thread_create(const struct thread_config *c, struct thread **out);
/*
 * Turns the calling thread into a `struct thread` (main). thread_run() returns after thread_quit().
 */
int thread_adopt(const struct thread_config *c, struct thread **out);
int thread_run(struct thread *t);
void thread_quit(struct thread *t);
/*
 * Ends the thread and waits for stop(). Messages and wake-ups from other threads are permitted but
 * have no effect.
 */
void thread_end(struct thread *t);
/*
 * thread_end() with a time limit. False: the thread still runs and must not be freed; the call may
 * be repeated.
 */
bool thread_end_within(struct thread *t, uint64_t patience_ns);
/*
 * After all threads have ended: the caller runs the remaining messages of the mailbox, so that
 * receivers can free memory.
 */
void thread_drain(struct thread *t);
/* After thread_end(), when no pointer to the thread remains. */
void thread_free(struct thread *t);

/* Any thread: runs fn(arg) on `t`, in order; does not wait. 0, -ENOMEM. */
int thread_post(struct thread *t, void (*fn)(void *arg), void *arg);
/* A message in memory of the sender. The fields belong to threads.c. */
struct thread_mail {
	struct thread_mail *next;
	void (*fn)(void *arg);
	void *arg;
	void *done; /* sem_t on which thread_call() waits */
	const char *doing; /* note of the sender, set by thread_call() */
	bool allocated; /* by thread_post() */
};
/* As thread_post(), but cannot fail: `m` is lent until fn runs, and fn may free or reuse `m`. */
void thread_send(struct thread *t, struct thread_mail *m, void (*fn)(void *arg), void *arg);
/*
 * Main only, so that two threads never wait for each other: runs fn(arg) on `t` and waits for the
 * end.
 */
int thread_call(struct thread *t, void (*fn)(void *arg), void *arg) RUNS_ON(role_main);
/* Main only: runs fn(arg[i]) on t[i] for `count` threads simultaneously and waits for all. */
int thread_call_each(struct thread *const *t, unsigned count, void (*fn)(void *arg),
	void *const *arg) RUNS_ON(role_main);
/*
 * Any thread: makes a sleeping thread call work(). Costs one locked instruction if the thread is
 * awake.
 */
void thread_wake(struct thread *t);
/*
 * Any thread: as thread_wake(), but a sleeping thread sleeps on if its help(), which runs here for
 * about HELP_NS, leaves nothing to do. Saves two changes of threads. The caller is offline as a reader
 * of all QSBRs for which help() may wait.
 */
void thread_do(struct thread *t);

/* ---- called on the thread ---- */

struct timer {
	uint64_t deadline_ns; /* 0: not armed */
	unsigned heap_index;
	void (*fire)(struct timer *t);
};
/* Arms the timer, or changes its deadline to `delay_ns` from now. 0, -ENOMEM: not armed. */
int timer_arm(struct thread *t, struct timer *timer, uint64_t delay_ns);
/* As timer_arm(), but keeps an earlier deadline. */
int timer_arm_sooner(struct thread *t, struct timer *timer, uint64_t delay_ns);
void timer_cancel(struct thread *t, struct timer *timer);

struct watch {
	int fd;
	void (*ready)(struct watch *w, uint32_t epoll_events);
};
/* Watches EPOLLIN, EPOLLOUT; a second call replaces the events; 0 removes the watch. 0, -errno. */
int watch_set(struct thread *t, struct watch *w, uint32_t epoll_events);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
/* Unix time, CLOCK_REALTIME. */
uint64_t wall_ns(void);
double wall_s(void);

/* ---- figures of the threads; main only ---- */

/* Shorter calls and turns are not counted: idle turns would dominate the percentiles. */
#define FIGURES_FROM_NS 10000u

struct thread_figures {
	const char *name;
	uint64_t cpu_ns; /* processor time since the start of the thread */
	const struct hist *slices; /* durations of work() calls; the limit is SLICE_NS */
	uint64_t late; /* count of turns of 1 s and more (control/base/watchdog.h) */
	/*
	 * durations between two checks of the timers, without sleep: mailbox, timers, work,
	 * descriptors
	 */
	const struct hist *turns;
};
/* The figures of a thread by index. False: `index` is too large. */
bool thread_figures_get(unsigned index, struct thread_figures *out);

/* ---- for the watchdog: any thread ---- */

struct thread_turn {
	char name[16];
	bool adopted; /* main */
	uint64_t began_ns; /* begin of the running turn; 0: the thread sleeps */
	const char *doing; /* lpm/base/note_work.h; never NULL */
};
/*
 * The running turn of thread `number`; a thread keeps its number for life. False: no such thread.
 */
bool thread_turn_get(unsigned number, struct thread_turn *out);
/* Counts a late turn. */
void thread_turn_late(unsigned number);
