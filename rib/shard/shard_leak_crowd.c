/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Imported paths of crowded destinations: an instance may import a prefix of thousands of
 * distinguishers. A set of paths is an array for its readers, so each change costs the whole array.
 * Changes of such a destination wait, and are published together:
 *
 * - when an eighth as many changes wait as there are paths. So a change costs the work for eight
 *   paths, whatever the number of paths;
 * - the oldest after a pause of eight times the last such publication: crowds with few changes take
 *   a ninth of the thread together, and wait for no crowd with many.
 *
 * A prefix has at most CROWD_PATHS_MAX imported paths in an instance. The paths of a peer are at most
 * the free ones, so that no peer takes the room of the others. Further paths are not imported, and
 * counted; they are tried again when paths have gone.
 *
 * Each change waits with the references of its path. Exports between local instances do not wait.
 */
#include "rib/shard/shard_leak_impl.h"
#include "rib/shard/shard_paths_impl.h"

#include <errno.h>
#include <string.h>

#define BUCKETS_MIN 64u
#define EDITS_MIN 8u
#define PAUSE_FACTOR 8u

struct crowd {
	struct crowd *chain; /* of the bucket */
	struct crowd_link {
		struct crowd *next, *before;
	} link[CROWD_LISTS];
	uint64_t serial; /* of its creation */
	bool due;
	uint8_t bulk; /* enum shard_bulk */
	struct table_id table;
	struct prefix prefix;
	unsigned paths; /* of the destination */
	struct import_edits
		edits; /* room for half as many as `places`, a hash of index + 1; 0: empty */
};

/* ---- lists ---- */

static void
list_add(struct shard_leak *l, struct crowd *c, enum crowd_lists which)
{
	struct crowd_list *list = &l->crowds.list[which];

	c->link[which] = (struct crowd_link){.before = list->last};
	*(list->last != NULL ? &list->last->link[which].next : &list->first) = c;
	list->last = c;
}

static void
list_remove(struct shard_leak *l, struct crowd *c, enum crowd_lists which)
{
	struct crowd_list *list = &l->crowds.list[which];
	const struct crowd_link *at = &c->link[which];

	*(at->before != NULL ? &at->before->link[which].next : &list->first) = at->next;
	*(at->next != NULL ? &at->next->link[which].before : &list->last) = at->before;
}

/* ---- crowds by table and prefix ---- */

static struct crowd **
crowd_at(const struct shard_leak *l, struct table_id table, const struct prefix *p)
{
	struct crowd **at =
		&l->crowds.bucket[hash_words(prefix_hash(p), table.v, 0) & (l->crowds.buckets - 1)];

	while (*at != NULL && ((*at)->table.v != table.v || !prefix_equal(&(*at)->prefix, p)))
		at = &(*at)->chain;
	return at;
}

/* Without memory the chains become longer. 0; -ENOMEM: there is no bucket at all. */
static int
buckets_grow(struct shard *s, struct shard_leak *l)
{
	struct shard_crowds old = l->crowds;
	unsigned count = old.buckets > 0 ? 2 * old.buckets : BUCKETS_MIN;
	struct crowd **grown = arena_calloc(s->arena, count * sizeof(struct crowd *));

	if (grown == NULL)
		return old.buckets > 0 ? 0 : -ENOMEM;
	l->crowds.bucket = grown;
	l->crowds.buckets = count;
	for (unsigned i = 0; i < old.buckets; i++) {
		for (struct crowd *c = old.bucket[i], *next; c != NULL; c = next) {
			struct crowd **at = crowd_at(l, c->table, &c->prefix);

			next = c->chain;
			c->chain = NULL;
			*at = c;
		}
	}
	arena_free(s->arena, old.bucket);
	return 0;
}

static void
crowd_free(struct shard *s, struct shard_leak *l, struct crowd *c)
{
	list_remove(l, c, CROWDS_ALL);
	if (c->due)
		list_remove(l, c, CROWDS_DUE);
	*crowd_at(l, c->table, &c->prefix) = c->chain;
	l->crowds.count--;
	arena_free(s->arena, c->edits.edit);
	arena_free(s->arena, c->edits.place);
	arena_free(s->arena, c);
}

/* The crowd of a destination, created if needed; NULL: no memory. */
static struct crowd *
crowd_get(struct shard *s, struct shard_leak *l, struct shard_table *t, const struct prefix *p,
	unsigned paths)
{
	struct crowd **at, *c;

	if (l->crowds.count >= l->crowds.buckets && buckets_grow(s, l) != 0)
		return NULL;
	at = crowd_at(l, t->id, p);
	if (*at != NULL)
		return *at;
	c = arena_calloc(s->arena, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->table = t->id;
	c->prefix = *p;
	c->paths = paths;
	c->serial = l->crowds.serial++;
	*at = c;
	l->crowds.count++;
	t->crowds++;
	list_add(l, c, CROWDS_ALL);
	return c;
}

bool
leak_crowd_is(const struct shard_leak *l, const struct shard_table *t, const struct prefix *p)
{
	return l->crowds.count > 0 && *crowd_at(l, t->id, p) != NULL;
}

bool
leak_crowds_before(const struct shard_leak *l, uint64_t serial)
{
	const struct crowd *oldest = l->crowds.list[CROWDS_ALL].first;

	return oldest != NULL && oldest->serial < serial;
}

/* ---- the changes of a crowd ---- */

static uint32_t *
edit_place(const struct import_edits *x, struct peer_id peer, uint32_t path_id)
{
	uint32_t i = (uint32_t)hash_words(path_id, peer.v, 0);

	for (;; i++) {
		uint32_t *at = &x->place[i & (x->places - 1)];

		if (*at == 0 || is_of(&x->edit[*at - 1].path, peer, path_id))
			return at;
	}
}

struct import_edit *
import_edit_find(const struct import_edits *x, struct peer_id peer, uint32_t path_id)
{
	uint32_t *at = edit_place(x, peer, path_id);

	return *at != 0 ? &x->edit[*at - 1] : NULL;
}

static int
edits_grow(struct shard *s, struct crowd *c)
{
	unsigned size = c->edits.places > 0 ? c->edits.places : EDITS_MIN;
	uint32_t *place = arena_calloc(s->arena, 2 * (size_t)size * sizeof(*place));
	struct import_edit *grown =
		place != NULL ? arena_realloc(s->arena, c->edits.edit, size * sizeof(*grown))
			      : NULL;

	if (grown == NULL) {
		arena_free(s->arena, place);
		return -ENOMEM;
	}
	arena_free(s->arena, c->edits.place);
	c->edits.edit = grown;
	c->edits.place = place;
	c->edits.places = 2 * size;
	for (uint32_t i = 0; i < c->edits.count; i++)
		*edit_place(&c->edits, grown[i].path.peer, grown[i].path.path_id) = i + 1;
	return 0;
}

int
leak_crowd_put(struct shard *s, struct shard_leak *l, struct shard_table *t, const struct prefix *p,
	const struct rib_path *path, bool there, unsigned paths)
{
	struct crowd *c = crowd_get(s, l, t, p, paths);
	struct import_edit *x;
	uint32_t *at;

	if (c == NULL)
		return -ENOMEM;
	if (2 * c->edits.count == c->edits.places && edits_grow(s, c) != 0) {
		if (c->edits.count == 0) {
			t->crowds--;
			crowd_free(s, l, c);
		}
		return -ENOMEM;
	}
	at = edit_place(&c->edits, path->peer, path->path_id);
	if (there)
		path_ref(s, t, path, 1);
	if (*at == 0) {
		*at = ++c->edits.count;
		l->crowds.of_peer[path->peer.v]++;
	} else if (c->edits.edit[*at - 1].there) {
		path_unref(s, t, &c->edits.edit[*at - 1].path, 1);
	}
	x = &c->edits.edit[*at - 1];
	*x = (struct import_edit){.path = *path, .there = there};
	c->bulk |= s->bulk;
	if (!c->due && c->edits.count >= EDITS_MIN && c->edits.count >= c->paths / 8) {
		c->due = true;
		list_add(l, c, CROWDS_DUE);
	}
	return 0;
}

/* ---- publication ---- */

static void
refused_note(struct shard_leak *l, struct instance *x, const struct import_edits *edits,
	unsigned paths_before)
{
	if (edits->refused > 0) {
		l->crowds.refusing += shard_load(&x->crowded) == 0;
		shard_count(&x->crowded, edits->refused);
		atomic_store_explicit(&x->crowded_by, edits->refused_peer.v, memory_order_relaxed);
	}
	/* a peer without room had as many paths as were left, or more: other prefixes are smaller */
	x->crowd_moved |= edits->removed > 0 && paths_before >= CROWD_PATHS_MAX / 2;
}

void
leak_crowded_clear(struct shard_leak *l, struct instance *x)
{
	l->crowds.refusing -= shard_load(&x->crowded) > 0;
	atomic_store_explicit(&x->crowded, 0, memory_order_relaxed);
	x->crowd_moved = false;
}

/* Publishes the changes of a crowd. 0, -ENOMEM. */
static int
crowd_publish(struct shard *s, struct shard_leak *l, struct crowd *c) RUNS_ON(role_rib)
{
	/* there: shard_table_remove() waits for the crowds */
	const struct shard_table *table = shard_table_at(s, c->table.v);
	struct shard_table *t = shard_table_of(s, table->vrf, table->family);
	struct instance *x = instance_of(s, t->vrf);
	unsigned paths = path_count_of(t, &c->prefix);
	uint8_t bulk = s->bulk;
	bool full;
	int err;

	c->edits.refused = c->edits.removed = 0;
	full = x != NULL && leak_limit_reached(s, x, t, &c->prefix);
	s->bulk = c->bulk;
	err = full ? 0 : path_import_many(s, t, &c->prefix, &c->edits);
	s->bulk = bulk;
	if (err != 0)
		return err;
	if (x != NULL)
		refused_note(l, x, &c->edits, paths);
	for (unsigned i = 0; i < c->edits.count; i++) {
		l->crowds.of_peer[c->edits.edit[i].path.peer.v]--;
		if (!c->edits.edit[i].there)
			continue;
		path_unref(s, t, &c->edits.edit[i].path, 1);
		if (full) /* the other paths of the destination have gone */
			leak_refused_add(l, x);
	}
	t->crowds--;
	crowd_free(s, l, c);
	return 0;
}

bool
leak_crowds_run(struct shard *s, struct shard_leak *l, uint64_t before, uint64_t deadline_ns)
{
	uint64_t now = walk_clock();

	for (;;) {
		bool by_age = now >= l->crowds.next_ns || leak_crowds_before(l, before);
		struct crowd *c = l->crowds.list[by_age ? CROWDS_ALL : CROWDS_DUE].first;
		uint64_t begun = now;
		bool due = c != NULL && c->due;

		if (c == NULL || crowd_publish(s, l, c) != 0)
			break;
		now = walk_clock();
		if (!due)
			l->crowds.next_ns = now + PAUSE_FACTOR * (now - begun);
		if (now >= deadline_ns)
			break;
	}
	return leak_crowds_due(l);
}

bool
leak_waits(const struct shard *s)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return l != NULL && l->crowds.count > 0;
}

bool
leak_waits_of(const struct shard *s, struct peer_id peer)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	return l != NULL && l->crowds.of_peer[peer.v] > 0;
}

void
leak_crowds_free(struct shard *s, struct shard_leak *l)
{
	while (l->crowds.count > 0)
		crowd_free(s, l, l->crowds.list[CROWDS_ALL].first);
	arena_free(s->arena, l->crowds.bucket);
}
