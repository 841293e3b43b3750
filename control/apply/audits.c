/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/audits.h"

#include "control/base/layers.h"
#include "rib/feed/fib_feed.h"

#include <errno.h>
#include <stdlib.h>

/* The tables of an audit. */
struct audit_scope {
	bool one;
	struct vrf_id vrf; /* with `one`; otherwise 0 */
};

struct waiter {
	struct waiter *next;
	struct audit_scope scope;
	void (*done)(void *ctx, const struct fib_audit *result);
	void *ctx;
};

struct audits {
	const struct layers *layers;
	/* of main */
	struct waiter *running, *queued; /* oldest first */
	struct audit_scope scope; /* of `running`; read by the fib thread at the begin */
	bool stopped;
	/* of the fib thread */
	bool ran; /* an audit has begun; audits_turn() has to send the end to main */
	const struct fib_audit *result; /* of main after `done`: unchanged until the next audit */
	struct thread_mail done; /* never sent twice: main begins an audit after the last mail */
};

static void
on_fib_begin(void *arg) RUNS_ON(role_fib)
{
	struct audits *a = arg;

	/* Not -EBUSY, because main begins audits one after the other. The result shows -ENOMEM. */
	(void)fib_feed_audit_begin(a->layers->feed, a->scope.one ? &a->scope.vrf : NULL);
	a->ran = true;
}

/* Begins the audit of the oldest request; requests with the same scope share the audit. */
static void
begin_queued(struct audits *a) RUNS_ON(role_main)
{
	struct waiter **from = &a->queued, **to = &a->running;

	if (a->queued == NULL)
		return;
	a->scope = a->queued->scope;
	while (*from != NULL) {
		struct waiter *w = *from;

		if (w->scope.one != a->scope.one || w->scope.vrf.v != a->scope.vrf.v) {
			from = &w->next;
			continue;
		}
		*from = w->next;
		w->next = NULL;
		*to = w;
		to = &w->next;
	}
	layers_call_fib(a->layers, on_fib_begin, a);
}

static void
end_waiters(struct waiter *w, const struct fib_audit *result)
{
	struct waiter *next;

	for (; w != NULL; w = next) {
		next = w->next;
		w->done(w->ctx, result);
		free(w);
	}
}

static void
on_main_done(void *arg) RUNS_ON(role_main)
{
	struct audits *a = arg;
	struct waiter *w = a->running;

	if (a->stopped)
		return;
	a->running = NULL;
	end_waiters(w, a->result);
	begin_queued(a);
}

void
audits_turn(struct audits *a)
{
	if (!a->ran || fib_feed_audit(a->layers->feed)->running)
		return;
	a->ran = false;
	a->result = fib_feed_audit(a->layers->feed);
	layers_send_main(a->layers, &a->done, on_main_done, a);
}

int
audits_begin(struct audits *a, const struct vrf_id *only,
	void (*done)(void *ctx, const struct fib_audit *result), void *ctx)
{
	struct waiter *w, **last = &a->queued;

	if (a->layers->fib == NULL)
		return -ENODEV;
	w = malloc(sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	*w = (struct waiter){.scope = {only != NULL, only != NULL ? *only : VRF_DEFAULT},
		.done = done,
		.ctx = ctx};
	while (*last != NULL)
		last = &(*last)->next;
	*last = w;
	if (a->running == NULL)
		begin_queued(a);
	return 0;
}

bool
audits_progress(const struct audits *a, const void *ctx, uint64_t *done, uint64_t *total)
{
	const struct waiter *w = a->running;

	while (w != NULL && w->ctx != ctx)
		w = w->next;
	if (w != NULL)
		fib_feed_audit_progress(a->layers->feed, done, total);
	return w != NULL;
}

int
audits_create(const struct layers *l, struct audits **out)
{
	struct audits *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->layers = l;
	*out = a;
	return 0;
}

void
audits_stop(struct audits *a)
{
	struct waiter *running = a->running, *queued = a->queued;

	a->stopped = true;
	a->running = a->queued = NULL;
	end_waiters(running, NULL);
	end_waiters(queued, NULL);
}

void
audits_destroy(struct audits *a)
{
	free(a);
}
