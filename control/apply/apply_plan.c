/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan of a commit while it is carried out: the peers and families whose routes are judged by new import rules (shard_plan_begin(),
 * update_groups_plan_begin()). A part ends with the job that replays or asks for its routes, with its session, or after commit_hold_s. When all
 * parts of a family have ended and no path is held any more, the session thread ends the plan there. Old configurations stay until then: their
 * policies may be run.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <stdlib.h>

#define RELEASE_POLL_NS 2000000u /* how often the shards are asked whether they still hold paths */

struct part {
	bool runs, ended; /* ended: the shards are yet to be told */
	uint32_t job; /* that ends it; 0: not known yet */
	uint64_t due_ns; /* the end of commit_hold_s; 0: it has not begun */
};

static struct {
	struct part part[PEER_MAX][FAMILY_COUNT];
	unsigned count[FAMILY_COUNT]; /* that run */
	bool open[FAMILY_COUNT]; /* at the session thread */
	bool ended; /* some part did */
	unsigned generation;
	struct timer tell, hold;
} plan;

/* ---- all shards at once ---- */

void
apply_on_shards(struct keeld *k, void (*fn)(void *arg), struct shard_call *call)
{
	struct shard_call calls[SHARDS_MAX];
	void *args[SHARDS_MAX];

	for (unsigned i = 0; i < k->shards.count; i++) {
		calls[i] = *call;
		calls[i].shard = k->shards.at[i];
		calls[i].index = i;
		args[i] = &calls[i];
	}
	thread_call_each(k->rib_thread, k->shards.count, fn, args);
	for (unsigned i = 0; i < k->shards.count; i++)
		if (calls[i].result != 0)
			call->result = calls[i].result;
}

/* ---- begin ---- */

bool
apply_plan_runs(enum family f)
{
	return plan.open[f];
}

unsigned
apply_plan_generation_next(void)
{
	plan.generation = plan.generation % PATH_GENERATIONS + 1;
	return plan.generation;
}

void
apply_plan_part(struct peer_id id, enum family f)
{
	struct part *p = &plan.part[id.v][f];

	plan.count[f] += !p->runs;
	*p = (struct part){.runs = true};
	plan.open[f] = true;
}

/* ---- end ---- */

static void
rib_plan_done(void *arg)
{
	struct shard_call *call = arg;

	role_enter_rib();
	for (unsigned i = 0; i < PEER_MAX; i++)
		for (unsigned f = 0; f < FAMILY_COUNT; f++)
			if (plan.part[i][f].ended)
				shard_plan_done(
					call->shard, (struct peer_id){(uint16_t)i}, (enum family)f);
}

static void
session_plan_end(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	speaker_plan_end(o->k->speaker, o->family);
}

static bool
held_anywhere(const struct keeld *k)
{
	for (unsigned i = 0; i < k->shards.count; i++)
		if (shard_held(k->shards.at[i]) > 0)
			return true;
	return false;
}

static bool
plan_over(void)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (plan.open[f])
			return false;
	return true;
}

bool
apply_plans_over(void)
{
	return plan_over();
}

/* Families of which all parts have ended, and the shards know. */
static void
families_end(struct keeld *k)
{
	bool held = held_anywhere(k), wait = false;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct order o = {.k = k, .family = (enum family)f};

		if (!plan.open[f] || plan.count[f] > 0)
			continue;
		wait |= held;
		if (held)
			continue;
		thread_call(k->session_thread, session_plan_end, &o);
		plan.open[f] = false;
	}
	if (wait)
		timer_arm(k->main_thread, &plan.tell, RELEASE_POLL_NS);
	if (plan_over()) {
		timer_cancel(k->main_thread, &plan.hold);
		apply_config_release();
	}
}

static void
tell_fire(struct timer *t)
{
	struct keeld *k = apply.k;
	struct shard_call call = {.k = k};

	(void)t;
	if (plan.ended) {
		apply_on_shards(k, rib_plan_done, &call);
		for (unsigned i = 0; i < PEER_MAX; i++)
			for (unsigned f = 0; f < FAMILY_COUNT; f++)
				plan.part[i][f].ended = false;
		plan.ended = false;
	}
	families_end(k);
}

void
apply_plan_end(struct peer_id id, enum family f)
{
	struct part *p = &plan.part[id.v][f];

	if (!p->runs)
		return;
	*p = (struct part){.ended = true};
	plan.count[f]--;
	plan.ended = true;
	timer_arm(apply.k->main_thread, &plan.tell, 0);
}

void
apply_plan_asked(struct peer_id id, enum family f, uint32_t job)
{
	plan.part[id.v][f].job = job;
}

void
apply_plan_job_ended(struct peer_id id, enum family f, uint32_t job)
{
	if (plan.part[id.v][f].job == job && job != 0)
		apply_plan_end(id, f);
}

/* Ends the parts that are due, and comes again for the next one. */
static void
hold_fire(struct timer *t)
{
	uint64_t now = now_ns(), next = UINT64_MAX;
	unsigned ended = 0;

	for (unsigned i = 0; i < PEER_MAX; i++) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			const struct part *p = &plan.part[i][f];

			if (!p->runs || p->due_ns == 0)
				continue;
			if (p->due_ns > now) {
				next = p->due_ns < next ? p->due_ns : next;
				continue;
			}
			apply_plan_end((struct peer_id){(uint16_t)i}, (enum family)f);
			ended++;
		}
	}
	if (next != UINT64_MAX)
		timer_arm(apply.k->main_thread, t, next - now);
	if (ended > 0)
		log_event(LOG_WARNING,
			"commit-hold-expired commit_hold_s=%u unfinished_families=%u",
			apply.k->running->commit_hold_s, ended);
}

void
keeld_plan(const struct keeld *k, struct keeld_plan *out)
{
	*out = (struct keeld_plan){.running = !plan_over()};
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		out->unfinished += plan.count[f];
	for (unsigned i = 0; i < k->shards.count; i++)
		out->held += shard_held(k->shards.at[i]);
}

void
apply_plan_go(struct keeld *k)
{
	uint64_t hold_ns = k->running->commit_hold_s * (uint64_t)1000000000,
		 due_ns = now_ns() + hold_ns;

	if (plan_over())
		return;
	for (unsigned i = 0; i < PEER_MAX; i++) {
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			struct part *p = &plan.part[i][f];

			bool begins = p->due_ns == 0;

			if (!p->runs)
				continue;
			/* a commit may shorten commit_hold_s, but no commit extends the time of an earlier one */
			if (begins || p->due_ns > due_ns)
				p->due_ns = due_ns;
			if (begins &&
				p->job ==
					0) /* its routes can't be had, or are being judged without a job */
				apply_plan_end((struct peer_id){(uint16_t)i}, (enum family)f);
		}
	}
	timer_arm_sooner(k->main_thread, &plan.hold, hold_ns);
	timer_arm(k->main_thread, &plan.tell, 0);
}

void
apply_plan_init(void)
{
	plan.tell.fire = tell_fire;
	plan.hold.fire = hold_fire;
}
