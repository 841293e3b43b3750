/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The groups of a thread by table. A change concerns one table, so a turn of the thread visits the groups of that table alone. The groups of the other tables
 * pass the entry later: many entries at once, before a turn of their own, or when a shard waits for the readers of the journal.
 */
#include "control/export/update_group_impl.h"

#include <errno.h>
#include <string.h>

#define PASS_ENTRIES 16384u
#define PASS_NS 20000000u
#define TABLES_MIN 16u

/* ---- the tables ---- */

static struct group_table *
table_find(const struct update_groups *s, struct table_id table)
{
	for (unsigned i = 0; i < s->table_count; i++)
		if (s->tables[i].table.v == table.v)
			return &s->tables[i];
	return NULL;
}

struct update_group *
table_groups(const struct update_groups *s, struct table_id table)
{
	const struct group_table *t = table_find(s, table);

	return t != NULL ? t->groups : NULL;
}

/* A new table. NULL: no memory. */
static struct group_table *
table_add(struct update_groups *s, struct table_id table)
{
	struct group_table *t;

	if (s->table_count == s->table_size) {
		unsigned size = s->table_size > 0 ? 2 * s->table_size : TABLES_MIN;
		struct group_table *more = arena_alloc(s->c.arena, size * sizeof(*more));

		if (more == NULL)
			return NULL;
		if (s->table_count > 0)
			memcpy(more, s->tables, s->table_count * sizeof(*more));
		arena_free(s->c.arena, s->tables);
		s->tables = more;
		s->table_size = size;
	}
	t = &s->tables[s->table_count++];
	*t = (struct group_table){.table = table};
	return t;
}

int
table_join(struct update_group *g)
{
	struct update_groups *s = g->set;
	struct group_table *t = table_find(s, g->rules.table);

	if (t == NULL)
		t = table_add(s, g->rules.table);
	if (t == NULL)
		return -ENOMEM;
	g->table_next = t->groups;
	g->table_prev = NULL;
	if (t->groups != NULL)
		t->groups->table_prev = g;
	t->groups = g;
	g->in_table = true;
	return 0;
}

void
table_leave(struct update_group *g)
{
	struct update_groups *s = g->set;
	struct group_table *t;

	if (!g->in_table)
		return;
	g->in_table = false;
	t = table_find(s, g->rules.table);
	if (g->table_next != NULL)
		g->table_next->table_prev = g->table_prev;
	if (g->table_prev != NULL)
		g->table_prev->table_next = g->table_next;
	else
		t->groups = g->table_next;
	if (t->groups == NULL)
		*t = s->tables[--s->table_count];
}

bool
table_shared(const struct update_group *g)
{
	return g->table_next != NULL || g->table_prev != NULL;
}

/* ---- entries of other tables ---- */

uint64_t
groups_end(const struct update_groups *s)
{
	uint64_t head = journal_head(s->journal);

	return head < s->whole ? head : s->whole;
}

bool
group_passes(const struct update_group *g)
{
	return g->catch_up == CATCH_UP_NONE && g->behind_count == 0 && !g->frozen;
}

void
group_pass(struct update_group *g)
{
	if (group_passes(g) &&
		journal_pass(g->set->journal, g->cursor, g->rules.table, groups_end(g->set)))
		windows_arrive(g, false);
}

/* True if entries of other tables may be what the group, or a member behind, waits for. */
static bool
group_awaits(const struct update_group *g)
{
	return !group_passes(g) || g->kind != WALK_NONE || g->deferred > 0;
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
	for (struct update_group *g = s->groups; g != NULL; g = g->next) {
		group_pass(g);
		/* the pass may allow withdrawals that waited: their entries are read again */
		if (group_awaits(g) || stream_works(g))
			members_due(g, due, ctx);
	}
	s->passed_end = end;
	s->pass_ns = 0;
}

void
update_groups_news(struct update_groups *s, update_due *due, void *ctx)
{
	uint64_t head = journal_head(s->journal), end = head < s->whole ? head : s->whole;

	if (pass_is_due(s, end))
		groups_pass(s, end, due, ctx);
	if (head == s->news_head && end == s->news_end)
		return;
	s->news_head = head;
	s->news_end = end;
	for (unsigned i = 0; i < s->table_count; i++) {
		struct group_table *t = &s->tables[i];
		uint64_t newest = journal_newest_of(s->journal, t->table);

		if (newest <= t->newest && newest <= t->upto)
			continue;
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
	return s->pass_ns;
}

void
update_groups_others(
	const struct update_groups *s, const struct update_turn *t, update_due *due, void *ctx)
{
	for (unsigned i = 0; i < (t->table[1].v != t->table[0].v ? 2 : 1); i++)
		for (const struct update_group *g = table_groups(s, t->table[i]); g != NULL;
			g = g->table_next)
			members_due(g, due, ctx);
}
