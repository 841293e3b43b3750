/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/preview_export.h"
#include "control/session_impl.h"
#include "control/update_group_impl.h"

#include <errno.h>

#define LOOK_EVERY 32u /* destinations between two looks at the clock: some 10 us */

/* Peers of one group that would have the same rules: each destination is evaluated once for them. */
struct rules_class {
	struct rules_class *next;
	uint32_t group_id; /* of what they are told now */
	struct update_group *g; /* of the new rules; nobody's */
};

struct told {
	struct peer_id peer;
	struct rules_class *class; /* NULL: it is told nothing */
	struct preview_counts counts;
};

struct export_preview {
	struct speaker *speaker;
	enum family family;
	struct table_id table;
	struct update_groups *set; /* scratch of the rules; its groups are nobody's */
	struct rules_class *classes;
	struct told *told;
	unsigned told_count;
};

int
export_preview_create(struct speaker *s, enum family family, struct export_preview **out)
{
	struct update_groups_config c = {
		.arena = s->config.arena, .shard = s->config.shard, .exported = s->exported};
	struct export_preview *e = arena_calloc(s->config.arena, sizeof(*e));
	int err;

	if (e == NULL)
		return -ENOMEM;
	e->speaker = s;
	e->family = family;
	err = update_groups_create(&c, &e->set);
	if (err != 0) {
		arena_free(s->config.arena, e);
		return err;
	}
	*out = e;
	return 0;
}

void
export_preview_destroy(struct export_preview *e)
{
	struct arena *a;

	if (e == NULL)
		return;
	a = e->speaker->config.arena;
	while (e->classes != NULL) {
		struct rules_class *c = e->classes;

		e->classes = c->next;
		rules_forget(c->g);
		arena_free(a, c->g);
		arena_free(a, c);
	}
	update_groups_destroy(e->set);
	arena_free(a, e->told);
	arena_free(a, e);
}

static struct update_member *
member_of(const struct export_preview *e, struct peer_id peer)
{
	const struct peer *p = e->speaker->by_id[peer.v];

	return p != NULL ? p->family[e->family].group : NULL;
}

/* What of a peer's configuration may change without a new session (session.c). */
static struct update_rules
rules_then(
	const struct update_member *m, const struct config_family *f, const struct policy *policy)
{
	struct update_rules r = *update_group_rules_of(m);

	r.policy = policy;
	r.next_hop_self = f->next_hop_self;
	r.next_hop_unchanged = f->next_hop_unchanged;
	r.remove_private_as = f->remove_private_as;
	r.as_override = f->as_override;
	r.default_originate = f->default_originate;
	return rules_normal(&r);
}

static struct rules_class *
class_get(struct export_preview *e, const struct update_member *m, const struct update_rules *r)
{
	struct arena *a = e->speaker->config.arena;
	struct rules_class *c = e->classes;

	while (c != NULL && (c->group_id != m->group->id || !rules_equal(&c->g->rules, r)))
		c = c->next;
	if (c != NULL)
		return c;
	c = arena_calloc(a, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->g = arena_calloc(a, sizeof(*c->g));
	if (c->g == NULL) {
		arena_free(a, c);
		return NULL;
	}
	c->g->set = e->set;
	c->g->rules = *r;
	c->g->next_hop_len = m->group->next_hop_len;
	c->group_id = m->group->id;
	c->next = e->classes;
	e->classes = c;
	return c;
}

int
export_preview_peer(struct export_preview *e, struct peer_id peer, const struct config_peer *next,
	const struct policy *policy)
{
	struct told *told = arena_realloc(
		e->speaker->config.arena, e->told, (e->told_count + 1) * sizeof(*told));
	const struct update_member *m = member_of(e, peer);
	struct update_rules r;
	struct told *t;

	if (told == NULL)
		return -ENOMEM;
	e->told = told;
	t = &told[e->told_count];
	*t = (struct told){.peer = peer};
	if (m != NULL) {
		r = rules_then(m, &next->families[e->family], policy);
		t->class = class_get(e, m, &r);
		if (t->class == NULL)
			return -ENOMEM;
		e->table = r.table;
	}
	e->told_count++;
	return 0;
}

static void
count(struct preview_counts *c, struct attr_id now, struct attr_id then)
{
	if (now.v == then.v)
		return;
	if (now.v == 0)
		c->added++;
	else if (then.v == 0)
		c->removed++;
	else
		c->changed++;
}

/* `then`: of the class. Its peers may have left for another group meanwhile, or be down. */
static void
class_count(struct export_preview *e, const struct rules_class *c, struct dest_id id,
	struct adj_route then)
{
	const struct update_group *group = NULL;
	struct adj_route now = {0};

	for (unsigned i = 0; i < e->told_count; i++) {
		struct told *t = &e->told[i];
		const struct update_member *m = t->class == c ? member_of(e, t->peer) : NULL;

		if (m == NULL)
			continue;
		if (m->group != group) {
			group = m->group;
			now = adj_rib_out_get(group->out, id);
		}
		count(&t->counts, member_view(m, now), member_view(m, then));
	}
}

static int
dest_count_for(struct export_preview *e, struct rules_class *c, struct dest_id id,
	const struct dest_view *v)
{
	struct adj_route then;
	int err = rules_evaluate(c->g, id, v, &then);

	if (err != 0)
		return err;
	class_count(e, c, id, then);
	if (then.set.v != 0)
		attr_unref(e->speaker->exported, then.set);
	return 0;
}

uint32_t
export_preview_run(
	struct export_preview *e, uint32_t from, uint32_t end, uint64_t deadline_ns, int *err)
{
	const struct dest_table *t;
	unsigned looks = 0;

	*err = 0;
	if (e->classes == NULL)
		return end;
	t = shard_table(e->speaker->config.shard, e->table);
	rules_run_end(e->set);
	for (; from < end && *err == 0; from++) {
		struct dest_view v;

		if (dest_peek(t, (struct dest_id){from}, &v)) {
			for (struct rules_class *c = e->classes; c != NULL && *err == 0;
				c = c->next)
				*err = dest_count_for(e, c, (struct dest_id){from}, &v);
		}
		if (++looks % LOOK_EVERY == 0 && now_ns() >= deadline_ns)
			return from + 1;
	}
	return from;
}

int
export_preview_default(struct export_preview *e)
{
	for (struct rules_class *c = e->classes; c != NULL; c = c->next) {
		struct adj_route then;
		int err = rules_default(c->g, &then);

		if (err != 0)
			return err;
		class_count(e, c, DEST_DEFAULT, then);
		if (then.set.v != 0)
			attr_unref(e->speaker->exported, then.set);
	}
	return 0;
}

void
export_preview_counts(
	const struct export_preview *e, struct peer_id peer, struct preview_counts *out)
{
	*out = (struct preview_counts){0};
	for (unsigned i = 0; i < e->told_count; i++) {
		if (e->told[i].peer.v == peer.v)
			*out = e->told[i].counts;
	}
}
