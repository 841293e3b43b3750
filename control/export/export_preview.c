/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/export/export_preview.h"

#include "control/export/rt_filter.h"

#include "control/base/threads.h"
#include "control/config/config.h"
#include "control/export/update_group_impl.h"
#include "lpm/base/arena.h"

#include <errno.h>

#define LOOK_EVERY 32u /* destinations between two reads of the clock: about 10 us */

/* Peers of one group with equal new rules: each destination is evaluated once for all peers of the class. */
struct rules_class {
	struct rules_class *next;
	const struct rules_class *from; /* the class before a split of its group; NULL: none */
	uint32_t group_id; /* the present group of these peers */
	struct update_group *told; /* the present group, for one slice; NULL: gone */
	struct update_group *g; /* scratch group with the new rules, without members */
	struct preview_counts counts; /* for a member that is the source of no route */
};

struct told {
	struct peer_id peer;
	struct rules_class *class; /* NULL: no route is advertised to the peer */
	/* Correction for routes of the peer itself, to be added to the counts of the class modulo 2^64. */
	struct preview_counts own;
};

struct export_preview {
	struct export_preview_config config;
	struct table_id table;
	struct preview *import; /* lent; NULL: no import policy changes */
	struct dest_id zero; /* 0/0 or ::/0 of the table; DEST_DEFAULT: not seen */
	struct update_groups *set; /* scratch buffers and caches for the evaluation */
	struct rules_class *classes;
	struct told *told;
	unsigned told_count;
	uint16_t of_peer[PEER_MAX]; /* index + 1 in told; 0: none */
};

int
export_preview_create(const struct export_preview_config *config, struct export_preview **out)
{
	struct update_groups_config c = {.arena = config->arena,
		.shards = config->shards,
		.records = config->records,
		.swaps = config->swaps};
	struct export_preview *e = arena_calloc(config->arena, sizeof(*e));
	int err;

	if (e == NULL)
		return -ENOMEM;
	e->config = *config;
	e->zero = DEST_DEFAULT;
	err = update_groups_create(&c, &e->set);
	if (err != 0) {
		arena_free(config->arena, e);
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
	a = e->config.arena;
	while (e->classes != NULL) {
		struct rules_class *c = e->classes;

		e->classes = c->next;
		if (c->g->rules.filter != NULL)
			c->g->rules.filter->refs--;
		arena_free(a, c->g->edit.of);
		arena_free(a, c->g);
		arena_free(a, c);
	}
	update_groups_destroy(e->set);
	arena_free(a, e->told);
	arena_free(a, e);
}

static const struct update_member *
member_of(const struct export_preview *e, struct peer_id peer)
{
	return e->config.member(e->config.ctx, peer, e->config.family);
}

/* The rules of a member under the new configuration. The other fields change with another address or AS number only. */
static struct update_rules
rules_then(const struct update_member *m, const struct config_peer *next, enum family family,
	uint32_t cluster_id, const struct policy *policy)
{
	const struct config_family *f = &next->families[family];
	struct update_rules r = *update_group_rules_of(m);

	r.cluster_id = cluster_id;
	r.policy = policy;
	r.peer_group = policy_group_key(next->group);
	r.next_hop_self = f->next_hop_self;
	r.next_hop_unchanged = f->next_hop_unchanged;
	r.remove_private_as = f->remove_private_as;
	r.as_override = f->as_override;
	r.default_originate = f->default_originate;
	r.encode.send_communities = f->send_communities;
	if (r.kind != UPDATE_EXTERNAL)
		r.kind = next->route_reflector_client ? UPDATE_CLIENT : UPDATE_INTERNAL;
	r.route_server_client = f->route_server_client;
	r.graceful_shutdown = f->graceful_shutdown;
	return rules_normal(&r);
}

static struct rules_class *
class_create(struct export_preview *e, const struct update_member *m, const struct update_rules *r)
{
	struct arena *a = e->config.arena;
	struct rules_class *c = arena_calloc(a, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->g = arena_calloc(a, sizeof(*c->g));
	if (c->g == NULL) {
		arena_free(a, c);
		return NULL;
	}
	c->g->set = e->set;
	c->g->rules = *r;
	if (r->filter != NULL)
		r->filter->refs++;
	c->g->labels = m->group->labels;
	c->group_id = m->group->id;
	c->next = e->classes;
	e->classes = c;
	return c;
}

static struct rules_class *
class_get(struct export_preview *e, const struct update_member *m, const struct update_rules *r)
{
	struct rules_class *c = e->classes;

	while (c != NULL && (c->group_id != m->group->id || !rules_equal(&c->g->rules, r)))
		c = c->next;
	return c != NULL ? c : class_create(e, m, r);
}

/* The class for a member of `from` whose group was split. Classes before `made` in the list are new in this slice, and begin with the present counts of `from`. */
static struct rules_class *
class_split(struct export_preview *e, const struct rules_class *made,
	const struct rules_class *from, const struct update_member *m)
{
	struct rules_class *c = e->classes;

	while (c != made && (c->from != from || c->group_id != m->group->id))
		c = c->next;
	if (c != made)
		return c;
	c = class_create(e, m, &from->g->rules);
	if (c == NULL)
		return NULL;
	c->from = from;
	c->counts = from->counts;
	return c;
}

int
export_preview_peer(struct export_preview *e, struct peer_id peer, const struct config_peer *next,
	uint32_t cluster_id, const struct policy *policy)
{
	struct told *told =
		arena_realloc(e->config.arena, e->told, (e->told_count + 1) * sizeof(*told));
	const struct update_member *m = member_of(e, peer);
	struct update_rules r;
	struct told *t;

	if (told == NULL)
		return -ENOMEM;
	e->told = told;
	t = &told[e->told_count];
	*t = (struct told){.peer = peer};
	if (m != NULL) {
		r = rules_then(m, next, e->config.family, cluster_id, policy);
		t->class = class_get(e, m, &r);
		if (t->class == NULL)
			return -ENOMEM;
		e->table = r.table;
	}
	e->of_peer[peer.v] = (uint16_t)++e->told_count;
	return 0;
}

/* The routes of one destination. PEER_SELF as source: of this router, or no route. */
struct comparison {
	bool now, then, same;
	struct peer_id now_source, then_source;
};

static void
count(struct preview_counts *c, bool now, bool then, bool same, uint64_t by)
{
	if (!now && !then)
		return;
	if (!now)
		c->added += by;
	else if (!then)
		c->removed += by;
	else if (!same)
		c->changed += by;
}

/* Corrects the counts of the source of a route: a route is never advertised to its source. */
static void
source_count(struct export_preview *e, const struct rules_class *c, struct peer_id source,
	const struct comparison *k)
{
	struct told *t = e->of_peer[source.v] != 0 ? &e->told[e->of_peer[source.v] - 1] : NULL;

	if (t == NULL || t->class != c || member_of(e, source) == NULL)
		return;
	count(&t->own, k->now, k->then, k->same, UINT64_MAX); /* minus one */
	count(&t->own, k->now && k->now_source.v != source.v,
		k->then && k->then_source.v != source.v, k->same, 1);
}

/* True if the present route has the attributes and the label of `then`. */
static bool
content_same(struct rules_class *c, struct dest_id id, struct adj_route now,
	const struct offer *then, uint64_t hash)
{
	struct update_group *g = c->told;
	struct offer o;
	uint64_t now_hash;
	int err;

	if (now.label != then->label)
		return false;
	if (now.edit != EDIT_UNNAMED && then->edit != EDIT_UNNAMED &&
		g->edit.of[now.edit].hash == c->g->edit.of[then->edit].hash) {
		struct offer same = *then;

		same.edit = now.edit;
		if (offer_is(g, &same, now))
			return true;
	}
	if (route_has_content(g, now, hash))
		return true;
	return route_again(g, id, now, &o) && offer_content(g, &o, &now_hash, &err) != NULL &&
	       now_hash == hash;
}

/* Counts one prefix for the class. `id`: the destination of `now`. 0, -ENOMEM. */
static int
class_count(struct export_preview *e, struct rules_class *c, struct dest_id id,
	struct adj_route now, const struct offer *then)
{
	struct comparison k = {.now = now.record.v != 0, .now_source = route_source(c->told, now)};
	uint64_t hash;
	int err = 0;

	k.then = then->permit && offer_content(c->g, then, &hash, &err) != NULL;
	k.then_source = k.then ? then->path.source : PEER_SELF;
	if (err < 0)
		return err;
	k.same = k.now && k.then && content_same(c, id, now, then, hash);
	count(&c->counts, k.now, k.then, k.same, 1);
	if (k.now_source.v != PEER_SELF.v)
		source_count(e, c, k.now_source, &k);
	if (k.then_source.v != PEER_SELF.v && k.then_source.v != k.now_source.v)
		source_count(e, c, k.then_source, &k);
	return 0;
}

/* Finds the present group of each peer: groups may be created, freed and split between slices. 0, -ENOMEM. */
static int
groups_find(struct export_preview *e)
{
	const struct rules_class *made = e->classes;

	for (struct rules_class *c = e->classes; c != NULL; c = c->next)
		c->told = NULL;
	for (unsigned i = 0; i < e->told_count; i++) {
		struct told *t = &e->told[i];
		const struct update_member *m = t->class != NULL ? member_of(e, t->peer) : NULL;

		if (m == NULL)
			continue;
		if (m->group->id != t->class->group_id)
			t->class = class_split(e, made, t->class, m);
		if (t->class == NULL)
			return -ENOMEM;
		t->class->told = m->group;
	}
	return 0;
}

/* The best path of a destination under the new import policies. 0, -ENOMEM, -EAGAIN. */
static int
best_then(const struct export_preview *e, struct dest_id id, const struct dest_view *v,
	struct preview_best *best)
{
	*best = (struct preview_best){0};
	return e->import != NULL ? preview_best(e->import, id, v, best) : 0;
}

/* The route of a group with the new rules. 0, -ENOMEM. */
static int
evaluate_then(struct rules_class *c, struct dest_id id, const struct dest_view *v,
	const struct preview_best *best, struct offer *then)
{
	if (!best->changes)
		return rules_evaluate(c->g, id, v, then);
	*then = (struct offer){.made = MADE_NONE};
	return best->path != NULL ? rules_evaluate_path(c->g, v, best->path, best->attrs, then) : 0;
}

static int
dest_count_for(struct export_preview *e, struct rules_class *c, struct dest_id id,
	const struct dest_view *v, const struct preview_best *best)
{
	struct offer then;
	int err = c->told != NULL ? evaluate_then(c, id, v, best, &then) : 0;

	if (err != 0 || c->told == NULL)
		return err;
	return class_count(e, c, id, adj_rib_out_get(c->told->out, id), &then);
}

/* Counts a prefix that is no destination. 0, -ENOMEM, -EAGAIN. */
static int
prefix_count(struct export_preview *e, const struct dest_view *v)
{
	struct preview_best best;
	int err = best_then(e, (struct dest_id){DEST_NONE}, v, &best);

	for (struct rules_class *c = e->classes; c != NULL && err == 0; c = c->next) {
		struct offer then = {.made = MADE_NONE};

		if (c->told == NULL || best.path == NULL)
			continue;
		err = rules_evaluate_path(c->g, v, best.path, best.attrs, &then);
		if (err == 0)
			err = class_count(
				e, c, (struct dest_id){DEST_NONE}, (struct adj_route){0}, &then);
	}
	return err;
}

/* Counts one destination for all classes. On -EAGAIN no class was counted. 0, -ENOMEM, -EAGAIN. */
static int
classes_count(struct export_preview *e, struct dest_id id, const struct dest_view *v)
{
	struct preview_best best;
	int err = best_then(e, id, v, &best);

	for (struct rules_class *c = e->classes; c != NULL && err == 0; c = c->next)
		err = dest_count_for(e, c, id, v, &best);
	return err;
}

void
export_preview_imports(struct export_preview *e, struct preview *import)
{
	e->import = import;
}

/* Before destinations of the table are counted. 0, -ENOMEM. */
static int
run_begin(struct export_preview *e, struct shards_table *t)
{
	int err;

	rules_run_end(e->set);
	err = groups_find(e);
	if (err == 0)
		shards_table(e->config.shards, e->table, t);
	return err;
}

uint32_t
export_preview_run(
	struct export_preview *e, uint32_t from, uint32_t end, uint64_t deadline_ns, int *err)
{
	struct shards_table t;
	unsigned looks = 0;

	*err = 0;
	if (e->classes == NULL)
		return end;
	*err = run_begin(e, &t);
	for (; from < end && *err == 0; from++) {
		struct dest_view v;

		if (shards_peek(&t, (struct dest_id){from}, &v)) {
			/* VPN families have a default route for each distinguisher, and originate none */
			if (v.prefix.len == 0 && family_safi(e->config.family) == SAFI_UNICAST) {
				e->zero.v = from;
				continue;
			}
			*err = classes_count(e, (struct dest_id){from}, &v);
			if (*err != 0)
				return from;
		}
		if (++looks % LOOK_EVERY == 0 && now_ns() >= deadline_ns)
			return from + 1;
	}
	return from;
}

int
export_preview_own(struct export_preview *e, unsigned i, bool alone)
{
	const struct preview_own *own = preview_own_at(e->import, i);
	struct shards_table t;
	struct dest_view v;
	struct dest_id id;
	int err;

	/* export_preview_default() evaluates the default route */
	if (e->classes == NULL || !own->changes || own->prefix.len == 0)
		return 0;
	err = run_begin(e, &t);
	if (err != 0)
		return err;
	id = shards_find(&t, &own->prefix);
	if (id.v != DEST_NONE && shards_peek(&t, id, &v))
		return alone ? classes_count(e, id, &v) : 0;
	v = (struct dest_view){.prefix = own->prefix};
	return prefix_count(e, &v);
}

/* A default route that we originate replaces the default route of the table: for a peer both are one route. 0, -ENOMEM. */
static int
default_count_for(struct export_preview *e, struct rules_class *c, const struct dest_view *v,
	const struct preview_best *best)
{
	struct adj_route now = adj_rib_out_get(c->told->out, DEST_DEFAULT);
	struct dest_id id = DEST_DEFAULT;
	struct offer then;
	int err = rules_default(c->g, &then);

	if (now.record.v == 0) {
		id = e->zero;
		now = adj_rib_out_get(c->told->out, id);
	}
	if (err == 0 && !then.permit)
		err = evaluate_then(c, e->zero, v, best, &then);
	return err != 0 ? err : class_count(e, c, id, now, &then);
}

int
export_preview_default(struct export_preview *e)
{
	const struct prefix zero = {.afi = (uint8_t)family_afi(e->config.family)};
	struct shards_table t;
	struct preview_best best;
	struct dest_view v;
	int err;

	if (e->classes == NULL)
		return 0;
	err = run_begin(e, &t);
	if (err != 0)
		return err;
	if (e->zero.v == DEST_NONE)
		e->zero = shards_find(&t, &zero);
	if (e->zero.v == DEST_NONE || !shards_peek(&t, e->zero, &v))
		v = (struct dest_view){.prefix = zero};
	err = best_then(e, e->zero, &v, &best);
	for (struct rules_class *c = e->classes; c != NULL && err == 0; c = c->next)
		err = c->told != NULL ? default_count_for(e, c, &v, &best) : 0;
	return err;
}

void
export_preview_counts(
	const struct export_preview *e, struct peer_id peer, struct preview_counts *out)
{
	const struct told *t = e->of_peer[peer.v] != 0 ? &e->told[e->of_peer[peer.v] - 1] : NULL;

	*out = (struct preview_counts){0};
	if (t == NULL || t->class == NULL)
		return;
	out->added = t->class->counts.added + t->own.added;
	out->removed = t->class->counts.removed + t->own.removed;
	out->changed = t->class->counts.changed + t->own.changed;
}
