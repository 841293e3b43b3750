/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan of a commit under way: the peers and families with routes to evaluate by new import
 * rules (shard_plan_begin(), update_groups_plan_begin()). A part, a peer and family, ends with the
 * job for the routes, with the session, or after commit_hold_s. The session thread ends the plan of
 * a family when all parts have ended and the shards hold no path. Old configurations stay until
 * then, because threads may use the policies.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define RELEASE_POLL_NS 2000000u /* interval of the checks for held paths */

struct part {
	bool runs, ended; /* ended: shard_plan_done() is due */
	bool supplies; /* see shard_plan_begin() */
	uint32_t job; /* evaluates the routes; 0: not known yet */
	uint64_t due_ns; /* the end of commit_hold_s; 0: not begun */
};

struct apply_plan {
	struct apply *apply;
	struct part part[PEER_MAX][FAMILY_COUNT];
	unsigned count[FAMILY_COUNT], suppliers[FAMILY_COUNT]; /* running parts */
	bool supplied
		[FAMILY_COUNT]; /* the last supplier has ended: the session thread does not know yet */
	bool open[FAMILY_COUNT]; /* until the session thread ends the plan */
	bool ended; /* any part is `ended` */
	unsigned generation;
	struct timer settle, hold;
};

/* ---- begin ---- */

bool
apply_plan_runs(const struct apply *apply, enum family f)
{
	return apply->plan->open[f];
}

unsigned
apply_plan_generation_next(struct apply *apply)
{
	apply->plan->generation = apply->plan->generation % PATH_GENERATIONS + 1;
	return apply->plan->generation;
}

void
apply_plan_part(struct apply *apply, struct peer_id id, enum family f, bool supplies)
{
	struct part *p = &apply->plan->part[id.v][f];

	supplies |= p->supplies;
	apply->plan->count[f] += !p->runs;
	apply->plan->suppliers[f] += supplies && !p->supplies;
	*p = (struct part){.runs = true, .supplies = supplies};
	apply->plan->open[f] = true;
}

/* ---- end ---- */

static void
rib_plan_done(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct apply_plan *done = call->arg;

	for (unsigned i = 0; i < PEER_MAX; i++)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (done->part[i][f].ended)
				shard_plan_done(
					call->shard, (struct peer_id){(uint16_t)i}, (enum family)f);
}

static bool
held_anywhere(const struct apply *apply)
{
	for (unsigned i = 0; i < apply->layers->shards.count; i++)
		if (shard_held(apply->layers->shards.at[i]) > 0)
			return true;
	return false;
}

static bool
plan_over(const struct apply *apply)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (apply->plan->open[f])
			return false;
	return true;
}

bool
apply_plans_over(const struct apply *apply)
{
	return plan_over(apply);
}

/* Ends the plan of each family without running parts, when the shards hold no path. */
static void
families_end(struct apply *apply) RUNS_ON(role_main)
{
	bool held = held_anywhere(apply), wait = false;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct session_order o = {.kind = SESSION_ORDER_PLAN_END, .family = (enum family)f};

		if (!apply->plan->open[f] || apply->plan->count[f] > 0)
			continue;
		wait |= held;
		if (held)
			continue;
		(void)session_order(apply->layers, &o);
		apply->plan->open[f] = false;
	}
	if (wait)
		timer_arm(apply->layers->main_thread, &apply->plan->settle, RELEASE_POLL_NS);
	if (plan_over(apply)) {
		timer_cancel(apply->layers->main_thread, &apply->plan->hold);
		apply_config_release(apply);
	}
}

static void
settle_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply_plan *plan =
		(struct apply_plan *)(void *)((char *)t - offsetof(struct apply_plan, settle));
	struct apply *apply = plan->apply;
	struct shard_call call = {.arg = plan};

	apply_changes_finish(apply);
	if (apply->plan->ended) {
		layers_call_shards(apply->layers, rib_plan_done, &call);
		for (unsigned i = 0; i < PEER_MAX; i++)
			for (unsigned f = 0; f < FAMILY_COUNT; f++)
				apply->plan->part[i][f].ended = false;
		apply->plan->ended = false;
	}
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct session_order o = {
			.kind = SESSION_ORDER_PLAN_SUPPLIED, .family = (enum family)f};

		if (plan->supplied[f] && plan->suppliers[f] == 0)
			(void)session_order(apply->layers, &o);
		plan->supplied[f] = false;
	}
	families_end(apply);
}

void
apply_plan_end(struct apply *apply, struct peer_id id, enum family f)
{
	struct part *p = &apply->plan->part[id.v][f];

	if (!p->runs)
		return;
	if (p->supplies && --apply->plan->suppliers[f] == 0)
		apply->plan->supplied[f] = true;
	*p = (struct part){.ended = true};
	apply->plan->count[f]--;
	apply->plan->ended = true;
	timer_arm(apply->layers->main_thread, &apply->plan->settle, 0);
}

void
apply_plan_asked(struct apply *apply, struct peer_id id, enum family f, uint32_t job)
{
	apply->plan->part[id.v][f].job = job;
}

void
apply_plan_job_ended(struct apply *apply, struct peer_id id, enum family f, uint32_t job)
{
	if (apply->plan->part[id.v][f].job == job && job != 0)
		apply_plan_end(apply, id, f);
}

/* Ends the parts that are due, and arms the timer for the next part. */
static void
hold_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply_plan *plan =
		(struct apply_plan *)(void *)((char *)t - offsetof(struct apply_plan, hold));
	struct apply *apply = plan->apply;
	uint64_t now = now_ns(), next = UINT64_MAX;
	unsigned ended = 0;

	apply_changes_finish(apply);
	for (unsigned i = 0; i < PEER_MAX; i++) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			const struct part *p = &apply->plan->part[i][f];

			if (!p->runs || p->due_ns == 0)
				continue;
			if (p->due_ns > now) {
				next = p->due_ns < next ? p->due_ns : next;
				continue;
			}
			apply_plan_end(apply, (struct peer_id){(uint16_t)i}, (enum family)f);
			ended++;
		}
	}
	if (next != UINT64_MAX)
		timer_arm(apply->layers->main_thread, t, next - now);
	if (ended > 0)
		log_event(LOG_WARNING,
			"commit-hold-expired commit_hold_s=%u unfinished_families=%u",
			apply->running->commit_hold_s, ended);
}

void
apply_progress_get(const struct apply *apply, struct apply_progress *out)
{
	*out = (struct apply_progress){.running = !plan_over(apply)};
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		out->unfinished += apply->plan->count[f];
	for (unsigned i = 0; i < apply->layers->shards.count; i++)
		out->held += shard_held(apply->layers->shards.at[i]);
}

void
apply_plan_go(struct apply *apply)
{
	uint64_t hold_ns = apply->running->commit_hold_s * (uint64_t)1000000000,
		 due_ns = now_ns() + hold_ns;

	if (plan_over(apply))
		return;
	for (unsigned i = 0; i < PEER_MAX; i++) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			struct part *p = &apply->plan->part[i][f];

			bool begins = p->due_ns == 0;

			if (!p->runs)
				continue;
			/*
			 * a commit may shorten commit_hold_s, but no commit extends the time of an
			 * earlier one
			 */
			if (begins || p->due_ns > due_ns)
				p->due_ns = due_ns;
			/* without a job the routes cannot be had again, or are under evaluation */
			if (begins && p->job == 0)
				apply_plan_end(
					apply, (struct peer_id){(uint16_t)i}, (enum family)f);
		}
	}
	timer_arm_sooner(apply->layers->main_thread, &apply->plan->hold, hold_ns);
	timer_arm(apply->layers->main_thread, &apply->plan->settle, 0);
}

int
apply_plan_create(struct apply *apply)
{
	struct apply_plan *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->apply = apply;
	p->settle.fire = settle_fire;
	p->hold.fire = hold_fire;
	apply->plan = p;
	return 0;
}

void
apply_plan_destroy(struct apply *apply)
{
	if (apply->plan == NULL)
		return;
	timer_cancel(apply->layers->main_thread, &apply->plan->settle);
	timer_cancel(apply->layers->main_thread, &apply->plan->hold);
	free(apply->plan);
}
