/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Edits on another document: config_rebase() lets the edit win, config_reconcile() finds the objects
 * that both sides changed.
 *
 * Recursion goes as deep as a document, which has at most 64 levels.
 */
#include "control/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the edit wins ---- */

/* Identifying keys of an element of an array, as text. Allocated. NULL: no such key, or out of memory. */
static char *
element_key(const json_t *element)
{
	static const char *const keys[] = {"name", "vrf", "address", "port", "seq", "prefix"};
	json_t *named = json_object(), *value;
	char *text = NULL;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if ((value = json_object_get(element, keys[i])) != NULL)
			json_object_set(named, keys[i], value);
	if (json_object_size(named) > 0)
		text = json_dumps(named, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(named);
	return text;
}

/* The elements by their keys, in order. NULL: an element has no key, two have the same key, or out of memory. */
static json_t *
elements_by_key(const json_t *array)
{
	json_t *map = json_is_array(array) ? json_object() : NULL, *element;
	size_t i;

	json_array_foreach(array, i, element)
	{
		char *key = element_key(element);
		bool good = map && key && !json_object_get(map, key) &&
			    json_object_set(map, key, element) == 0;

		free(key);
		if (!good) {
			json_decref(map);
			return NULL;
		}
	}
	return map;
}

static json_t *
share(const json_t *value)
{
	return json_incref((json_t *)(uintptr_t)value);
}

static json_t *rebase(const json_t *from, const json_t *edited, const json_t *onto, bool *failed);

static json_t *
rebase_object(const json_t *from, const json_t *edited, const json_t *onto,
	bool *failed) /* NOLINT(misc-no-recursion) */
{
	json_t *result = json_object(), *value, *next;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)onto, key, value)
	{
		next = rebase(
			json_object_get(from, key), json_object_get(edited, key), value, failed);
		*failed |= next && json_object_set_new(result, key, next) != 0;
	}
	json_object_foreach((json_t *)(uintptr_t)edited, key, value)
	{
		if (json_object_get(onto, key))
			continue;
		next = rebase(json_object_get(from, key), value, NULL, failed);
		*failed |= next && json_object_set_new(result, key, next) != 0;
	}
	*failed |= !result;
	return result;
}

/* Elements in the order of `onto`, then added elements. An edit of an element missing in `onto` is dropped. */
static json_t *
rebase_elements(
	json_t *from, json_t *edited, json_t *onto, bool *failed) /* NOLINT(misc-no-recursion) */
{
	json_t *result = json_array(), *value, *next;
	const char *key;

	json_object_foreach(onto, key, value)
	{
		next = rebase(
			json_object_get(from, key), json_object_get(edited, key), value, failed);
		*failed |= next && json_array_append_new(result, next) != 0;
	}
	json_object_foreach(edited, key, value)
	{
		if (json_object_get(onto, key) || json_object_get(from, key))
			continue;
		next = share(value);
		*failed |= next && json_array_append_new(result, next) != 0;
	}
	*failed |= !result;
	return result;
}

static json_t *
rebase(const json_t *from, const json_t *edited, const json_t *onto,
	bool *failed) /* NOLINT(misc-no-recursion) */
{
	json_t *f, *e, *o, *result;

	if (from == edited || (from && edited && json_equal(from, edited)))
		return share(onto);
	if (!edited || !onto || (from && json_equal(from, onto)))
		return share(edited);
	if (json_is_object(edited) && json_is_object(onto))
		return rebase_object(from, edited, onto, failed);
	f = elements_by_key(from);
	e = elements_by_key(edited);
	o = elements_by_key(onto);
	result = f && e && o ? rebase_elements(f, e, o, failed) : share(edited);
	json_decref(f);
	json_decref(e);
	json_decref(o);
	return result;
}

json_t *
config_rebase(const json_t *from, const json_t *edited, const json_t *onto)
{
	bool failed = false;
	json_t *result = rebase(from, edited, onto, &failed);

	if (!failed)
		return result;
	json_decref(result);
	return NULL;
}

/* ---- changes of two authors ---- */

/* A value in the three documents; NULL: absent. Lent. */
struct three {
	const json_t *base, *mine, *theirs;
};

/* The merged value, and the value of the new base. New references; NULL: absent. */
struct merged {
	json_t *mine, *base;
};

struct reconcile {
	enum config_conflicts conflicting;
	json_t *conflicts;
	char object[512]; /* the names on the way to the present place */
	size_t len;
	const json_t *mine, *theirs; /* the whole documents */
	/* While the rest of a policy is merged: the policy in both documents; else NULL. */
	const json_t *my_policy, *their_policy;
	bool failed;
};

/* Pointers are looked up for this number of conflicts: each takes a walk through the document. */
#define CONFLICT_PATHS_MAX 16

/* How an array is merged: as one value, as named elements, or as the nodes of a route policy. */
enum level { LEVEL_KEYS, LEVEL_ELEMENT, LEVEL_NODE };

static struct merged merge(struct reconcile *r, const struct three *v, enum level level);

static bool
same(const json_t *a, const json_t *b)
{
	return a == b || (a != NULL && b != NULL && json_equal(a, b));
}

static json_t *
or_null(const json_t *value)
{
	return value != NULL ? share(value) : json_null();
}

/* Appends a name to the place; returns the old length, for place_back(). */
static size_t
place_push(struct reconcile *r, const char *name)
{
	size_t old = r->len, room = sizeof(r->object) - old;
	int n = snprintf(r->object + old, room, "%s%s", old > 0 ? " " : "", name);

	r->len = n >= 0 && (size_t)n < room ? old + (size_t)n : sizeof(r->object) - 1;
	return old;
}

/* The identifying values of an element: `192.0.2.1`, `red 192.0.2.1`. */
static size_t
place_push_element(struct reconcile *r, const char *key)
{
	json_t *named = json_loads(key, 0, NULL), *value;
	size_t old = r->len;
	const char *name;

	json_object_foreach(named, name, value)
	{
		char number[24];

		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		place_push(r, json_is_string(value) ? json_string_value(value) : number);
	}
	json_decref(named);
	return old;
}

static void
place_back(struct reconcile *r, size_t len)
{
	r->len = len;
	r->object[len] = '\0';
}

/*
 * Where both sides have the object, my edits of its keys over their object; but a list whole, because
 * the order of its entries counts.
 */
static json_t *
mine_over_theirs(struct reconcile *r, const struct three *v)
{
	if (!json_is_object(v->base) || !json_is_object(v->mine) || !json_is_object(v->theirs) ||
		json_object_get(v->mine, "entries") != NULL)
		return share(v->mine);
	return rebase(v->base, v->mine, v->theirs, &r->failed);
}

static struct merged
conflict(struct reconcile *r, const struct three *v)
{
	const json_t *mine = r->my_policy != NULL ? r->my_policy : v->mine;
	const json_t *theirs = r->their_policy != NULL ? r->their_policy : v->theirs;
	json_t *c;

	if (r->conflicting == CONFLICTS_THEIRS)
		return (struct merged){share(v->theirs), share(v->theirs)};
	if (r->conflicting == CONFLICTS_MINE)
		return (struct merged){mine_over_theirs(r, v), share(v->theirs)};
	c = json_pack("{s:s, s:o, s:o, s:o}", "object", r->object, "base", or_null(v->base),
		"running", or_null(v->theirs), "candidate", or_null(v->mine));
	if (json_array_size(r->conflicts) < CONFLICT_PATHS_MAX)
		json_object_set_new(c, "path",
			mine != NULL ? config_pointer_to(r->mine, mine)
				     : config_pointer_to(r->theirs, theirs));
	r->failed |= c == NULL || json_array_append_new(r->conflicts, c) != 0;
	return (struct merged){share(v->mine), share(v->base)};
}

static void
merged_set(struct reconcile *r, struct merged *to, const char *key, struct merged value)
{
	r->failed |= value.mine != NULL && json_object_set_new(to->mine, key, value.mine) != 0;
	r->failed |= value.base != NULL && json_object_set_new(to->base, key, value.base) != 0;
}

static void
merged_append(struct reconcile *r, struct merged *to, struct merged value)
{
	r->failed |= value.mine != NULL && json_array_append_new(to->mine, value.mine) != 0;
	r->failed |= value.base != NULL && json_array_append_new(to->base, value.base) != 0;
}

static void
merge_key(struct reconcile *r, const struct three *v, const char *key, enum level level,
	struct merged *out) /* NOLINT(misc-no-recursion) */
{
	const struct three child = {json_object_get(v->base, key), json_object_get(v->mine, key),
		json_object_get(v->theirs, key)};
	size_t old = place_push(r, key);

	merged_set(r, out, key, merge(r, &child, level));
	place_back(r, old);
}

/* Each key of an object, in the order of the running document; new keys at the end. */
static struct merged
merge_keys(struct reconcile *r, const struct three *v) /* NOLINT(misc-no-recursion) */
{
	struct merged out = {json_object(), json_object()};
	const json_t *const order[] = {v->theirs, v->mine, v->base};
	json_t *value;
	const char *key;

	for (unsigned i = 0; i < 3; i++)
		json_object_foreach((json_t *)(uintptr_t)order[i], key, value)
		{
			if ((i > 0 && json_object_get(v->theirs, key) != NULL) ||
				(i > 1 && json_object_get(v->mine, key) != NULL))
				continue;
			merge_key(r, v, key, LEVEL_KEYS, &out);
		}
	r->failed |= out.mine == NULL || out.base == NULL;
	return out;
}

/*
 * The elements of three arrays by their names. False: an array has an element without a name, or two
 * elements of one name: the array is one object. An absent array has no elements.
 */
static bool
merge_elements(struct reconcile *r, const struct three *v, enum level level,
	struct merged *out) /* NOLINT(misc-no-recursion) */
{
	const json_t *const given[] = {v->theirs, v->mine, v->base};
	json_t *map[3], *value;
	bool named = true;
	const char *key;

	for (unsigned i = 0; i < 3; i++) {
		map[i] = given[i] != NULL ? elements_by_key(given[i]) : json_object();
		named &= map[i] != NULL;
	}
	*out = (struct merged){named ? json_array() : NULL, named ? json_array() : NULL};
	for (unsigned i = 0; named && i < 3; i++)
		json_object_foreach(map[i], key, value)
		{
			const struct three element = {json_object_get(map[2], key),
				json_object_get(map[1], key), json_object_get(map[0], key)};
			size_t old;

			if ((i > 0 && element.theirs != NULL) || (i > 1 && element.mine != NULL))
				continue;
			old = place_push_element(r, key);
			merged_append(r, out, merge(r, &element, level));
			place_back(r, old);
		}
	for (unsigned i = 0; i < 3; i++)
		json_decref(map[i]);
	if (named && v->mine == NULL && json_array_size(out->mine) == 0) {
		json_decref(out->mine);
		out->mine = NULL;
	}
	return named;
}

static json_t *
without_nodes(struct reconcile *r, const json_t *element)
{
	json_t *rest = json_copy((json_t *)(uintptr_t)element);

	r->failed |= rest == NULL;
	json_object_del(rest, "nodes");
	return rest;
}

static void
set_nodes(struct reconcile *r, json_t **rest, json_t *nodes)
{
	json_t *whole = json_copy(*rest);

	r->failed |=
		whole == NULL || (nodes != NULL && json_object_set_new(whole, "nodes", nodes) != 0);
	json_decref(*rest);
	*rest = whole;
}

/* A route policy that all three documents have: each node is an object, and the rest is one. */
static bool
merge_policy(struct reconcile *r, const struct three *v,
	struct merged *out) /* NOLINT(misc-no-recursion) */
{
	const struct three nodes = {json_object_get(v->base, "nodes"),
		json_object_get(v->mine, "nodes"), json_object_get(v->theirs, "nodes")};
	struct three rest;
	struct merged merged;
	size_t old;

	if (!json_is_array(nodes.base) || !json_is_array(nodes.mine) ||
		!json_is_array(nodes.theirs))
		return false;
	old = place_push(r, "node");
	if (!merge_elements(r, &nodes, LEVEL_NODE, &merged)) {
		place_back(r, old);
		return false;
	}
	place_back(r, old);
	rest = (struct three){
		without_nodes(r, v->base), without_nodes(r, v->mine), without_nodes(r, v->theirs)};
	r->my_policy = v->mine;
	r->their_policy = v->theirs;
	*out = merge(r, &rest, LEVEL_NODE);
	r->my_policy = r->their_policy = NULL;
	set_nodes(r, &out->mine, merged.mine);
	set_nodes(r, &out->base, merged.base);
	json_decref((json_t *)(uintptr_t)rest.base);
	json_decref((json_t *)(uintptr_t)rest.mine);
	json_decref((json_t *)(uintptr_t)rest.theirs);
	return true;
}

static struct merged
merge(struct reconcile *r, const struct three *v, enum level level) /* NOLINT(misc-no-recursion) */
{
	struct merged out;

	if (same(v->base, v->mine) || same(v->mine, v->theirs))
		return (struct merged){share(v->theirs), share(v->theirs)};
	if (same(v->base, v->theirs))
		return (struct merged){share(v->mine), share(v->theirs)};
	if (level == LEVEL_KEYS && json_is_object(v->mine) && json_is_object(v->theirs) &&
		(v->base == NULL || json_is_object(v->base)))
		return merge_keys(r, v);
	if (level == LEVEL_KEYS && (v->mine != NULL || v->theirs != NULL) &&
		merge_elements(r, v, LEVEL_ELEMENT, &out))
		return out;
	if (level == LEVEL_ELEMENT && merge_policy(r, v, &out))
		return out;
	return conflict(r, v);
}

json_t *
config_reconcile(json_t **base, const json_t *mine, const json_t *theirs,
	enum config_conflicts conflicting, json_t **conflicts)
{
	struct reconcile r = {.conflicting = conflicting,
		.conflicts = json_array(),
		.mine = mine,
		.theirs = theirs};
	const struct three v = {*base, mine, theirs};
	struct merged out = merge(&r, &v, LEVEL_KEYS);

	if (r.failed || r.conflicts == NULL || out.mine == NULL || out.base == NULL) {
		json_decref(out.mine);
		json_decref(out.base);
		json_decref(r.conflicts);
		return NULL;
	}
	json_decref(*base);
	*base = out.base;
	if (conflicts != NULL)
		*conflicts = r.conflicts;
	else
		json_decref(r.conflicts);
	return out.mine;
}
