/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of withdrawals of a group (docs/decisions/0002), and the destinations still to visit. A group may announce early. A withdrawal waits
 * until the group had, at some position of the journal, all routes that the stream had there, and the last change of the destination is not after this position.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"

#include <errno.h>
#include <string.h>

#define LAP_VISITS 512u /* destinations evaluated in a slice */
#define LAP_LOOKS 64u /* destinations between two reads of the clock */

/* ---- places ---- */

uint64_t
group_position(const struct update_group *g)
{
	const struct export_table *t = g->reader;
	const struct window *w;

	if (g->order.window >= t->count)
		return journal_position(t->cursor);
	w = t->window[g->order.window];
	return g->order.taken >= w->first ? g->order.taken : w->first - 1;
}

uint64_t
group_passed(const struct update_group *g)
{
	return g->order.held != 0 ? g->order.held - 1 : group_position(g);
}

bool
group_settled(const struct update_group *g)
{
	return g->order.dirty.count == 0 && g->order.horizon <= group_position(g);
}

/* ---- withdrawals ---- */

static uint64_t
settled_now(const struct update_group *g)
{
	uint64_t position = group_position(g);

	return group_settled(g) && position > g->order.settled ? position : g->order.settled;
}

static void
order_hold(struct update_group *g, uint64_t at)
{
	if (g->order.held == 0 || at < g->order.held)
		g->order.held = at;
	if (g->order.lap_held == 0 || at < g->order.lap_held)
		g->order.lap_held = at;
}

/* The entry of the last change. If the last change comes after the position of the group: an earlier entry, so a withdrawal waits. */
static uint64_t
view_entry(const struct update_group *g, const struct dest_view *view)
{
	uint64_t position = group_position(g);
	uint32_t newer = view->sequence - (uint32_t)position;

	/* a larger distance is an old, wrapped sequence number */
	if (newer != 0 && newer <= journal_newest(g->set->journal) - position)
		return position;
	return position - (uint32_t)((uint32_t)position - view->sequence);
}

/* A withdrawal at this entry waits. */
static void
order_wait(struct update_group *g, uint64_t at, const struct dest_view *view)
{
	uint64_t last = at + (uint32_t)(view->sequence - (uint32_t)at);

	if (last == at)
		order_hold(g, at);
	else if (g->order.horizon < last)
		g->order.horizon = last;
}

bool
order_may_withdraw(struct update_group *g, uint64_t at, const struct dest_view *view)
{
	uint32_t newer = view->sequence - (uint32_t)at;

	/* older: the id was reassigned before the reader came to the entry (an old head of several writers) */
	if (newer > INT32_MAX)
		return false;
	if (newer == 0 && g->order.dirty.count == 0 && g->order.horizon <= at &&
		at > g->order.settled)
		g->order.settled = at;
	if (newer == 0 && at <= g->order.settled)
		return true;
	order_wait(g, at, view);
	return false;
}

void
order_pass_over(struct update_group *g, struct dest_id id, const struct dest_view *view)
{
	owed_add(g, id);
	order_wait(g, view_entry(g, view), view);
}

/* ---- destinations to look at ---- */

void
owed_add(struct update_group *g, struct dest_id id)
{
	int err = bits_set(g->set->c.arena, &g->order.owed, id);

	if (err < 0)
		g->error = err;
}

void
owed_clear(struct update_group *g, struct dest_id id)
{
	if (g->order.owed.count > 0)
		(void)bits_clear(&g->order.owed, id);
}

void
dirty_add(struct update_group *g, struct dest_id id, uint64_t position)
{
	int err = bits_set(g->set->c.arena, &g->order.dirty, id);

	if (err < 0)
		g->error = err;
	order_hold(g, position + 1);
	g->set->news.none = UINT64_MAX;
}

void
dirty_all(struct update_group *g)
{
	uint32_t limit = shards_limit(&g->table);

	if (!g->order.lapped)
		g->order.reach_back = (uint32_t)group_passed(g);
	g->order.lapped = true;
	bits_fini(g->set->c.arena, &g->order.dirty);
	if (limit > 0)
		dirty_add(g, (struct dest_id){limit - 1}, group_position(g));
	if (limit > 0 && g->error == 0)
		bits_fill(&g->order.dirty, limit);
}

void
order_reset(struct update_group *g)
{
	bits_fini(g->set->c.arena, &g->order.owed);
	bits_fini(g->set->c.arena, &g->order.dirty);
	g->order.owed_at = g->order.dirty_at = 0;
	g->order.horizon = g->order.held = g->order.lap_held = 0;
	g->order.lapped = false;
}

static int
bits_copy(struct arena *a, struct bits *b, const struct bits *from)
{
	*b = (struct bits){0};
	if (from->words == 0)
		return 0;
	b->word = arena_alloc(a, from->words * sizeof(*b->word));
	if (b->word == NULL)
		return -ENOMEM;
	memcpy(b->word, from->word, from->words * sizeof(*b->word));
	b->words = from->words;
	b->count = from->count;
	return 0;
}

int
order_copy(struct update_group *g, const struct update_group *from)
{
	struct arena *a = g->set->c.arena;
	int err = bits_copy(a, &g->order.owed, &from->order.owed),
	    more = bits_copy(a, &g->order.dirty, &from->order.dirty);

	return err < 0 ? err : more;
}

/* ---- laps ---- */

bool
owed_due(const struct update_group *g)
{
	if (g->order.dirty.count > 0)
		return false;
	return g->order.owed_at != 0 ||
	       (g->order.held != 0 &&
		       (g->order.owed.count == 0 || g->order.held <= settled_now(g)));
}

static void
lap_end(struct update_group *g, bool dirty)
{
	if (dirty) {
		bits_fini(g->set->c.arena, &g->order.dirty);
		g->order.dirty_at = 0;
		g->order.lapped = false;
		return;
	}
	g->order.held = g->order.lap_held;
	g->reader->moved = true;
}

void
order_lap(struct update_group *g, uint64_t deadline_ns, order_visit *visit)
{
	const struct shards *s = &g->set->shards;
	bool dirty = g->order.dirty.count > 0, more = true;
	struct bits *b = dirty ? &g->order.dirty : &g->order.owed;
	uint32_t *at = dirty ? &g->order.dirty_at : &g->order.owed_at;
	unsigned visits = 0, looks = 0;
	const struct dest_table *t;
	struct dest_view view;
	struct dest_id id;

	if (!dirty && *at == 0)
		g->order.lap_held = 0;
	g->order.settled = settled_now(g);
	while (more && g->error == 0 && !batch_full(g->set) && visits < LAP_VISITS) {
		if (++looks % LAP_LOOKS == 0 && now_ns() >= deadline_ns)
			break;
		more = bits_next(b, at, &id);
		if (!more)
			break;
		if (dirty)
			bits_clear(b, id);
		t = g->table.at[shards_index(s, id)];
		if (t == NULL || !dest_peek_best(t, shards_local(s, id), &view)) {
			owed_clear(g, id); /* the id is free: no group has an interest */
			continue;
		}
		if (dirty && g->order.lapped && (int32_t)(view.sequence - g->order.reach_back) <= 0)
			continue;
		visits++;
		visit(g, id, view_entry(g, &view), &view);
	}
	if (dirty ? g->order.dirty.count == 0 : !more)
		lap_end(g, dirty);
}
