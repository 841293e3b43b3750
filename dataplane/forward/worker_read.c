/* SPDX-License-Identifier: BSD-3-Clause */
/* What keelfwd and keeld read of workers: in keeld in the memory of keelfwd. Needs no EAL. */
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"
#include "dataplane/forward/worker_struct.h"

#include <string.h>

/* Loop gaps at the last stats_reset_mark(), in the process that asks. */
static struct hist mark[RTE_MAX_LCORE];

static _Atomic(struct workers *) current;

struct workers *
workers_get(void)
{
	/* acquire: pairs with the store in workers_set */
	return atomic_load_explicit(&current, memory_order_acquire);
}

void
workers_set(struct workers *all)
{
	memset(mark, 0, sizeof(mark));
	/* release: pairs with the load in workers_get */
	atomic_store_explicit(&current, all, memory_order_release);
}

struct worker *
worker_at(unsigned worker)
{
	struct workers *all = workers_get();

	return all != NULL && worker < all->count ? all->worker[worker] : NULL;
}

unsigned
workers_count(void)
{
	const struct workers *all = workers_get();

	return all != NULL ? all->count : 0;
}

const struct worker_stats *
worker_stats(unsigned worker)
{
	const struct worker *w = worker_at(worker);

	return w != NULL ? &w->stats : NULL;
}

unsigned
worker_cpu(unsigned worker)
{
	const struct worker *w = worker_at(worker);

	return w != NULL ? w->cpu : UINT32_MAX;
}

/* ---- drop reasons ---- */

static const struct {
	const char *name, *rfc, *text;
} reasons[DROP_COUNT] = {
#define DROP(reason, name, rfc, text) {name, rfc, text},
#include "dataplane/forward/drops.def"
#undef DROP
};

const char *
drop_reason_text(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? reasons[r].name : "unknown";
}

const char *
drop_reason_rfc(enum drop_reason r)
{
	return (unsigned)r < DROP_COUNT ? reasons[r].rfc : "";
}

/* ---- loop gaps ---- */

void
stats_reset_mark(void)
{
	for (unsigned i = 0; i < workers_count(); i++)
		hist_copy(&mark[i], &worker_stats(i)->loop_gap);
}

void
stats_loop_gap(unsigned worker, struct hist_summary *out)
{
	memset(out, 0, sizeof(*out));
	if (worker < workers_count())
		hist_summarize_since(&worker_stats(worker)->loop_gap, &mark[worker], out);
}
