/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * New rules for members. When all members have equal new rules, the group adopts the rules and sends differences. When the rules differ, the group is
 * split: members with new rules move into a new group, with a copy of the Adj-RIB-Out. The copy is made in slices; meanwhile the group gathers no changes.
 * Then both groups send differences.
 *
 * A commit changes its members one by one, so a group waits settle_ns before a split. Until then the group uses the old policy, which must stay valid while
 * any member has the old policy.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"
#include "rib/table/path_ring.h"

#include <errno.h>
#include <string.h>

static bool
member_agrees(const struct update_member *m, const struct update_rules *r)
{
	struct update_rules n = rules_normal(&m->rules);

	return rules_equal(&n, r);
}

/* Members with an error do not count: the session is about to end. */
static unsigned
agreeing(const struct update_group *g, const struct update_rules *r)
{
	unsigned n = 0;

	for (const struct update_member *m = g->members; m != NULL; m = m->next)
		n += m->error == 0 && member_agrees(m, r);
	return n;
}

static struct update_member *
member_other(const struct update_group *g)
{
	struct update_member *m = g->members;

	while (m != NULL && (m->error != 0 || member_agrees(m, &g->rules)))
		m = m->next;
	return m;
}

void
split_settle(struct update_group *g)
{
	struct update_member *m = member_other(g);
	struct update_rules rules;

	if (m == NULL) {
		g->rules_due_ns = 0;
		return;
	}
	if (agreeing(g, &g->rules) > 0) {
		if (g->rules_due_ns == 0)
			g->rules_due_ns = now_ns() + g->set->c.settle_ns;
		return;
	}
	/* No member has the old rules any more. */
	rules = rules_normal(&m->rules);
	rules_take(g, &rules);
	g->rules_due_ns = 0;
	g->frozen = member_other(g) != NULL;
}

/* ---- the new group ---- */

/* The copied routes have the numbers of `g`. */
static int
edits_copy(struct update_group *n, const struct update_group *g)
{
	n->edit.of = arena_alloc(
		n->set->c.arena, (g->edit.size > 0 ? g->edit.size : 1) * sizeof(*n->edit.of));
	if (n->edit.of == NULL)
		return -ENOMEM;
	if (g->edit.size > 0)
		memcpy(n->edit.of, g->edit.of, g->edit.size * sizeof(*n->edit.of));
	rules_forget(n);
	return 0;
}

/* Copies the state from which the stream continues. 0, -ENOMEM. */
static int
copy_begin(struct update_group *g, const struct update_member *m) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;
	struct update_group *n = arena_alloc(s->c.arena, sizeof(*n));
	int err;

	if (n == NULL)
		return -ENOMEM;
	*n = *g;
	if (n->laps.walk.over != NULL)
		n->laps.walk.over = &n->table;
	n->rules = rules_normal(&m->rules);
	n->edit.of = NULL;
	n->order.owed = n->order.dirty = (struct bits){0};
	n->stats = (struct update_group_stats){0};
	n->id = ++g->set->last_id;
	n->members = NULL;
	n->member_count = n->stream_count = n->ready_count = n->behind_count = 0;
	n->laps.waiting = n->laps.walking = n->settling = 0;
	n->deferred = n->kept = 0;
	n->rules_due_ns = 0;
	n->tail = NULL;
	n->reader = NULL;
	n->out = NULL;
	n->copy = NULL;
	n->first = n->last = n->front = arena_calloc(s->c.arena, sizeof(struct message));
	err = n->last != NULL ? adj_rib_out_create(
					s->c.arena, s->records, n->rules.table, n->labels, &n->out)
			      : -ENOMEM;
	if (err == 0)
		err = edits_copy(n, g);
	if (err == 0)
		err = order_copy(n, g);
	if (err == 0)
		err = table_join(n);
	n->frozen = true;
	n->next = s->groups;
	s->groups = n;
	if (err < 0) {
		(void)update_group_dismantle(n, UINT64_MAX);
		return err;
	}
	g->copy = n;
	g->copy_at = 0;
	g->stats.splits++;
	return 0;
}

/* Uncopied messages of the old stream become bits of a member behind. */
static void
member_move(struct update_member *m, struct update_group *n)
{
	if (m->state == MEMBER_STREAM && m->at->next != NULL)
		behind_begin(m);
	member_unlink(m);
	/* names of the old group are for its members */
	if (n->set->changes != NULL)
		path_ring_lose(n->set->changes, m->id);
	member_link(m, n);
	member_next_hop(m);
	m->later_since = UINT64_MAX; /* versions of the old group say nothing */
	m->later_until = 0;
}

static void
copy_end(struct update_group *g)
{
	struct update_group *n = g->copy;
	struct update_member *m, *next;

	for (m = g->members; m != NULL; m = next) {
		next = m->next;
		if (member_agrees(m, &n->rules))
			member_move(m, n);
	}
	stream_trim(g);
	n->frozen = false;
	/* A plan may have ended since the copy began, and its rules may be freed. `g` has the rules by which the routes are advertised now. */
	n->planned = g->planned;
	n->before = g->before;
	n->mixed = g->mixed;
	n->newest = g->newest;
	n->after = g->after;
	if (n->set->plan[n->rules.family].peer_count > 0)
		rules_plan(n, g);
	policy_walk_owe(n);
	n->before.next_hop_len = n->rules.next_hop_len;
	n->version++;
	g->version++;
	if (n->members != NULL)
		g->copy = NULL; /* an empty copy is dismantled later */
}

/* No memory for the new group: ends the sessions of the members with new rules. */
static void
copy_fail(struct update_group *g, int err)
{
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (!member_agrees(m, &g->rules))
			m->error = err;
	}
	g->frozen = false;
	g->rules_due_ns = 0;
}

/*
 * Chooses the rules of the copy again, because rules may have changed since the copy began. The copied routes are valid for any rules, so the copy
 * continues: with a restart, commits in quick succession would prevent the end of the split, and the group, without gathering changes, would
 * hold up the journal and the shards. False: all members have the rules of the group.
 */
static bool
copy_aim(struct update_group *g)
{
	const struct update_member *m;

	if (agreeing(g, &g->copy->rules) > 0 && !rules_equal(&g->rules, &g->copy->rules))
		return true;
	m = member_other(g);
	if (m != NULL)
		g->copy->rules = rules_normal(&m->rules);
	return m != NULL;
}

static bool
copy_run(struct update_group *g) RUNS_ON(role_session)
{
	int more;

	/* Members cannot join a group during its dismantling. */
	if (g->copy->left || !copy_aim(g)) {
		if (!update_group_dismantle(g->copy, 0))
			g->copy = NULL;
		return true;
	}
	more = adj_rib_out_copy(g->copy->out, g->out, &g->copy_at);
	if (more == 0)
		copy_end(g);
	else if (more < 0)
		copy_fail(g, more);
	return true;
}

bool
split_pending(const struct update_group *g)
{
	return g->copy != NULL || g->frozen ||
	       (g->rules_due_ns != 0 && now_ns() >= g->rules_due_ns);
}

bool
split_run(struct update_group *g)
{
	struct update_member *m;
	int err;

	if (!split_pending(g))
		return false;
	if (g->copy != NULL)
		return copy_run(g);
	m = member_other(g);
	if (m == NULL) {
		g->frozen = false;
		g->rules_due_ns = 0;
		return true;
	}
	g->frozen = true;
	g->rules_due_ns = 0;
	group_fall(g);
	err = copy_begin(g, m);
	if (err < 0)
		copy_fail(g, err);
	return true;
}

/* ---- update_group_settle() ---- */

bool
member_settling(const struct update_member *m)
{
	return m->settle_asked != m->settle_put;
}

/* The group has the rules of this member, and no policy walk is due or running. */
static bool
member_settles(const struct update_group *g, const struct update_member *m)
{
	return member_settling(m) && m->error == 0 && !g->planned && !m->dumping &&
	       m->state != MEMBER_JOINING && g->laps.policy_until == 0 &&
	       member_agrees(m, &g->rules);
}

bool
settle_pending(const struct update_group *g)
{
	if (g->settling == 0 || g->frozen)
		return false;
	for (const struct update_member *m = g->members; m != NULL; m = m->next) {
		if (member_settles(g, m))
			return true;
	}
	return false;
}

bool
settle_step(struct update_group *g)
{
	bool any = false;

	if (!settle_pending(g))
		return false;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (!member_settles(g, m))
			continue;
		g->settling--;
		m->settle_put = m->settle_asked;
		stream_mark(g, MESSAGE_SETTLED, m->id, m->settle_asked);
		any = true;
	}
	return any;
}

/* ---- calls of the session ---- */

void
update_groups_settle(struct update_groups *s)
{
	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		if (g->rules_due_ns != 0)
			g->rules_due_ns = 1; /* in the past */
}

void
update_group_rules(struct update_member *m, const struct update_rules *r)
{
	m->rules.cluster_id = r->cluster_id;
	m->rules.policy = r->policy;
	m->rules.filter = r->filter;
	m->rules.peer = r->peer;
	m->rules.peer_group = r->peer_group;
	m->rules.next_hop_self = r->next_hop_self;
	m->rules.next_hop_unchanged = r->next_hop_unchanged;
	m->rules.remove_private_as = r->remove_private_as;
	m->rules.as_override = r->as_override;
	m->rules.default_originate = r->default_originate;
	m->rules.route_server_client = r->route_server_client;
	m->rules.link = r->link;
	m->rules.graceful_shutdown = r->graceful_shutdown;
	split_settle(m->group);
}

void
update_group_policy(struct update_member *m, const struct policy *p)
{
	struct update_rules r = m->rules;

	r.policy = p;
	update_group_rules(m, &r);
}

uint32_t
update_group_settle(struct update_member *m)
{
	m->group->settling += !member_settling(m);
	return ++m->settle_asked;
}

uint32_t
update_group_settled(const struct update_member *m)
{
	return m->settled;
}
