/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The groups of a thread by table. The groups of a table have one reader of the journal. A change concerns one table, so a turn of the thread visits the groups of
 * that table alone. The other tables pass the entry later: many entries at once, before a turn of their own, or when a shard waits for the readers of the journal.
 */
#include "control/export/update_group_impl.h"

#include <errno.h>
#include <string.h>

#define PASS_ENTRIES 16384u
#define PASS_NS 20000000u

/* ---- the tables ---- */

static struct export_table *
table_find(const struct update_groups *s, struct table_id table)
{
	struct export_table *t = s->tables;

	while (t != NULL && t->table.v != table.v)
		t = t->next;
	return t;
}

static void
table_free(struct update_groups *s, struct export_table *t)
{
	struct export_table **at = &s->tables;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (t->hold != NULL)
		journal_unsubscribe(s->journal, t->hold);
	if (t->cursor != NULL)
		journal_unsubscribe(s->journal, t->cursor);
	arena_free(s->c.arena, t);
}

/* A new table. 0, -ENOMEM, -ENOSPC. */
static int
table_add(struct update_groups *s, struct table_id table, struct export_table **out)
{
	struct export_table *t = arena_calloc(s->c.arena, sizeof(*t));
	int err;

	if (t == NULL)
		return -ENOMEM;
	t->table = table;
	t->next = s->tables;
	s->tables = t;
	err = journal_subscribe(s->journal, &t->cursor);
	if (err == 0)
		err = journal_hold(s->journal, t->cursor, &t->hold);
	if (err < 0) {
		table_free(s, t);
		return err;
	}
	journal_set_patience(t->cursor, JOURNAL_WAIT);
	journal_set_patience(t->hold, JOURNAL_WAIT);
	journal_set_paced(t->cursor);
	*out = t;
	return 0;
}

int
table_join(struct update_group *g)
{
	struct export_table *t = table_find(g->set, g->rules.table);
	int err = t == NULL ? table_add(g->set, g->rules.table, &t) : 0;

	if (err < 0)
		return err;
	g->table_next = t->groups;
	g->table_prev = NULL;
	if (t->groups != NULL)
		t->groups->table_prev = g;
	t->groups = g;
	g->reader = t;
	return 0;
}

void
table_leave(struct update_group *g)
{
	struct export_table *t = g->reader;

	if (t == NULL)
		return;
	windows_arrive(g);
	g->reader = NULL;
	if (g->table_next != NULL)
		g->table_next->table_prev = g->table_prev;
	if (g->table_prev != NULL)
		g->table_prev->table_next = g->table_next;
	else
		t->groups = g->table_next;
	t->moved = true;
	if (t->groups == NULL)
		table_free(g->set, t);
}

bool
table_shared(const struct update_group *g)
{
	return g->table_next != NULL || g->table_prev != NULL;
}

void
table_release(struct update_groups *s, struct export_table *t)
{
	uint64_t passed = journal_position(t->cursor);

	t->moved = false;
	for (const struct update_group *g = t->groups; g != NULL; g = g->table_next) {
		uint64_t of = group_passed(g);

		if (of < passed)
			passed = of;
	}
	journal_advance(s->journal, t->hold, passed);
}

/* ---- entries of other tables ---- */

uint64_t
groups_end(const struct update_groups *s)
{
	uint64_t head = journal_head(s->journal);

	return head < s->whole ? head : s->whole;
}

bool
table_unread(const struct update_groups *s, const struct export_table *t)
{
	uint64_t position = journal_position(t->cursor);

	return position < groups_end(s) && journal_newest_of(s->journal, t->table) > position;
}

void
table_pass(struct update_groups *s, struct export_table *t)
{
	t->moved |= journal_pass(s->journal, t->cursor, t->table, groups_end(s));
	if (t->moved)
		table_release(s, t);
}

/* True if entries of other tables may be what the group, or a member behind, waits for. */
static bool
group_awaits(const struct update_group *g)
{
	return group_walks(g) || g->deferred > 0 || g->behind_count > 0;
}

static bool
pass_is_due(struct update_groups *s, uint64_t end)
{
	const struct journal *j = s->journal;

	if (end <= s->passed_end)
		return false;
	if (s->pass_ns == 0)
		s->pass_ns = s->now_ns + PASS_NS;
	return end - s->passed_end >= PASS_ENTRIES || s->now_ns >= s->pass_ns ||
	       journal_pressed(j) || journal_waits(j);
}

/* ---- members due a turn ---- */

static void
members_due(const struct update_group *g, update_due *due, void *ctx)
{
	for (const struct update_member *m = g->members; m != NULL; m = m->next)
		due(ctx, m->id);
}

static void
groups_pass(struct update_groups *s, uint64_t end, update_due *due, void *ctx)
{
	for (struct export_table *t = s->tables; t != NULL; t = t->next)
		table_pass(s, t);
	for (const struct update_group *g = s->groups; g != NULL; g = g->next)
		/* the pass may allow waiting withdrawals */
		if (group_awaits(g) || stream_works(g))
			members_due(g, due, ctx);
	s->passed_end = end;
	s->pass_ns = 0;
}

void
update_groups_news(struct update_groups *s, update_due *due, void *ctx)
{
	uint64_t head = journal_head(s->journal), end = head < s->whole ? head : s->whole;

	if (pass_is_due(s, end))
		groups_pass(s, end, due, ctx);
	if (head == s->news_head && end == s->news_end && !s->released)
		return;
	s->news_head = head;
	s->news_end = end;
	s->released = false;
	for (struct export_table *t = s->tables; t != NULL; t = t->next) {
		uint64_t newest = journal_newest_of(s->journal, t->table);

		if (newest <= t->newest && newest <= t->upto && !t->released)
			continue;
		t->released = false;
		/* a live change after the end is read at once, and the other entries are news again when the end has moved */
		t->newest = newest;
		t->upto = newest < end ? newest : end;
		for (const struct update_group *g = t->groups; g != NULL; g = g->table_next)
			members_due(g, due, ctx);
	}
}

uint64_t
update_groups_pass_ns(const struct update_groups *s)
{
	return s->released ? 1 : s->pass_ns;
}

void
update_groups_others(
	const struct update_groups *s, const struct update_turn *t, update_due *due, void *ctx)
{
	const struct export_table *of = table_find(s, t->table);

	for (const struct update_group *g = of != NULL ? of->groups : NULL; g != NULL;
		g = g->table_next)
		members_due(g, due, ctx);
}
