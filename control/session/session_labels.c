/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labels for VPN routes with our next hop (rib/table/swap.h): orders to the fib thread and their answers, and the release of labels without routes. One batch of
 * orders is on its way at a time, in memory of the speaker, so that no order can be lost.
 */
#include "control/session/session_impl.h"

#include "rib/table/adj_rib_out.h"

#define TIDY_NS NS_PER_S

static void
tidy_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, labels.tidy);
	uint64_t passed = s->groups != NULL ? update_groups_passed_ns(s->groups) : UINT64_MAX;

	if (swaps_tidy(s->labels.swaps, now_ns(), passed) && s->groups != NULL) {
		update_groups_relabel(s->groups);
		s->export_all = true;
	}
	rt_sweep(s);
	timer_arm(s->thread, t, TIDY_NS); /* cannot fail: the timer had an entry */
}

int
labels_init(struct speaker *s)
{
	struct swaps_config c = s->config.swaps;
	int err;

	if (s->config.labels == NULL)
		return 0;
	c.arena = s->config.arena;
	err = swaps_create(&c, &s->labels.swaps);
	if (err == 0)
		adj_records_swaps(s->records, s->labels.swaps);
	if (err == 0 && s->config.restarts)
		swaps_restart_time(s->labels.swaps, RESTART_TIME_S);
	s->labels.tidy.fire = tidy_fire;
	s->labels.batch.ctx = s->config.ctx;
	return err;
}

void
labels_fini(struct speaker *s)
{
	swaps_destroy(s->labels.swaps);
}

int
labels_start(struct speaker *s)
{
	return s->labels.swaps != NULL ? timer_arm(s->thread, &s->labels.tidy, TIDY_NS) : 0;
}

void
labels_up(const struct connection *c)
{
	struct swaps *swaps = c->peer->speaker->labels.swaps;

	if (swaps != NULL && (c->n.families & VPN_FAMILIES) && c->open.graceful_restart)
		swaps_restart_time(swaps, c->open.restart_time_s);
}

void
labels_send(struct speaker *s)
{
	struct speaker_labels *l = &s->labels.batch;

	if (s->labels.swaps == NULL || s->labels.sent)
		return;
	l->count = swaps_orders(s->labels.swaps, l->order, SPEAKER_LABELS);
	s->labels.sent = l->count > 0;
	if (l->count > 0)
		s->config.labels(s->config.ctx, l);
}

void
speaker_labels(struct speaker *s, struct speaker_labels *l)
{
	/* Further failures wait for the next second: tidy_fire() orders failed labels again. */
	if (swaps_answer(s->labels.swaps, l->order, l->count))
		timer_arm_sooner(s->thread, &s->labels.tidy, 0);
	s->labels.sent = false;
	s->export_all = true; /* messages waited for the labels */
}

unsigned
speaker_labels_wanting(const struct speaker *s, struct swap_share *wanting, struct swap_share *most)
{
	return swaps_wanting(s->labels.swaps, wanting, most);
}

void
labels_view(const struct peer *p, struct session_view *out)
{
	struct swap_owner owner = {
		.dynamic = p->config.dynamic, .group = p->config.group_key, .addr = p->config.addr};
	struct swap_share share;

	(void)swaps_owner(p->speaker->labels.swaps, &owner, &share);
	out->labels = share.labels;
	out->labels_refused = share.refused;
}

void
speaker_label_figures(const struct speaker *s, struct swaps_figures *out)
{
	swaps_figures(s->labels.swaps, out);
}
