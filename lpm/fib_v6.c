/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv6 in the forwarding tables. A prefix needs up to 13 groups and shares groups with its
 * neighbours. A route without all its groups waits in a separate shadow (`waiting`). Painting and
 * counting groups do not visit the waiting routes, so a flood of waiting routes does not slow down
 * the rest. A waiting route is installed when groups become free, or when neighbours have added
 * all groups needed.
 */
#include "lpm/fib_impl.h"

#include "lpm/shadow.h"
#include "lpm/table_v6.h"

#include <errno.h>
#include <string.h>

/*
 * Painting a changed prefix of a real table takes about 0.9 us; rebuilding takes 0.19 us per group
 * (58,305 groups: 11 ms). Above this limit the idle copy is rebuilt.
 */
#define REBUILD_FROM 4096
#define REBUILD_GROUPS 4
/*
 * Limit per commit for waiting routes checked below added groups; the last group may exceed the
 * limit by at most 767. Each takes 0.8 us, with half of them installed and painted.
 */
#define GRANT_LOOKS 512

bool
fib_v6_get(const struct fib_table *t, const struct prefix *p, struct shadow_entry *out)
{
	return shadow_get(t->routes, p, out) || shadow_get(t->waiting, p, out);
}

bool
fib_v6_cover(const struct fib_table *t, const struct ip_addr *addr, struct shadow_entry *out)
{
	struct shadow_entry waiting;
	bool found = shadow_v6_cover(t->routes, addr->b, 128, out);

	if (!shadow_v6_cover(t->waiting, addr->b, 128, &waiting))
		return found;
	if (!found || waiting.prefix.len > out->prefix.len)
		*out = waiting;
	return true;
}

static bool
next_of(const struct shadow *s, const struct prefix *from, struct shadow_entry *out)
{
	struct shadow_cursor c;

	shadow_seek(s, from, &c);
	return shadow_next(&c, out) &&
	       (from == NULL || !prefix_equal(&out->prefix, from) || shadow_next(&c, out));
}

bool
fib_v6_next(const struct fib_table *t, const struct prefix *from, struct shadow_entry *out)
{
	struct shadow_entry waiting;
	bool found = next_of(t->routes, from, out);

	if (!next_of(t->waiting, from, &waiting))
		return found;
	if (!found || prefix_compare(&waiting.prefix, &out->prefix) < 0)
		*out = waiting;
	return true;
}

/* First entry at or after `from`; after the last entry, the first of all. */
static bool
next_in_turn(const struct shadow *s, const struct prefix *from, struct shadow_entry *out)
{
	struct shadow_cursor c;

	shadow_seek(s, from, &c);
	if (shadow_next(&c, out))
		return true;
	shadow_seek(s, NULL, &c);
	return shadow_next(&c, out);
}

/* First waiting route at or after `from` inside this group. */
static bool
waiting_below(const struct fib_table *t, const struct prefix *group, const struct prefix *from,
	struct shadow_entry *out)
{
	struct shadow_cursor c;

	shadow_seek(t->waiting, from, &c);
	return shadow_next(&c, out) && prefix_covers(group, &out->prefix);
}

/*
 * Notes the groups added by `p` that have waiting routes below. If memory is short, these routes
 * continue to wait.
 */
static void
added_groups_note(struct fib_table *t, const struct prefix *p, unsigned need)
{
	struct shadow_entry e;

	for (; need > 0; need--) {
		struct prefix group = table_v6_group(p, need);

		if (!waiting_below(t, &group, &group, &e))
			return;
		(void)shadow_set(
			t->added_groups, &group, (struct path_list_id){PATH_LIST_NONE}, false);
		t->grant_wanted = true;
	}
}

static void
added_groups_remove(struct fib_table *t, const struct prefix *p, unsigned need)
{
	for (; need > 0 && shadow_count(t->added_groups) > 0; need--) {
		struct prefix group = table_v6_group(p, need);

		(void)shadow_remove(t->added_groups, &group);
	}
}

int
fib_v6_insert(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool own)
{
	unsigned need = table_v6_need(t->routes, p);
	uint32_t max = own ? t->groups_max : t->groups_max - t->groups_kept;
	bool waits = need > 0 &&
		     ((!own && shadow_count(t->waiting) > 0) || t->groups_wanted + need > max);
	int err = shadow_set(waits ? t->waiting : t->routes, p, list, waits);

	if (err != 0)
		return err;
	if (waits) {
		t->waiting_routes++;
	} else {
		t->groups_wanted += need;
		added_groups_note(t, p, need);
	}
	return 0;
}

void
fib_v6_replace(struct fib_table *t, const struct prefix *p, struct path_list_id list, bool waiting)
{
	(void)shadow_set(waiting ? t->waiting : t->routes, p, list, waiting); /* cannot fail */
}

void
fib_v6_remove(struct fib_table *t, const struct prefix *p, bool waiting)
{
	(void)shadow_remove(waiting ? t->waiting : t->routes, p);
	if (waiting) {
		t->waiting_routes--;
	} else {
		unsigned need = table_v6_need(t->routes, p);

		t->groups_wanted -= need;
		added_groups_remove(t, p, need);
	}
	t->grant_wanted = true;
}

bool
fib_v6_grant_pays(const struct fib_table *t)
{
	return t->grant_wanted && t->waiting_routes > 0;
}

/* Installs a waiting route with `need` new groups. */
static int
grant_one(struct fib_table *t, const struct shadow_entry *e, unsigned need)
{
	bool added;

	/* no old list: the batch entry is for painting only and holds no reference */
	if (fib_batch_add(t, &e->prefix, (struct path_list_id){PATH_LIST_NONE}, &added) != 0 ||
		shadow_set(t->routes, &e->prefix, e->list, false) != 0)
		return -ENOMEM;
	(void)shadow_remove(t->waiting, &e->prefix);
	t->waiting_routes--;
	t->groups_wanted += need;
	added_groups_note(t, &e->prefix, need);
	fib_note_installed(t, &e->prefix);
	return 0;
}

int
fib_v6_install(struct fib_table *t, const struct prefix *p)
{
	unsigned need = table_v6_need(t->routes, p);
	struct shadow_entry e;

	if (!shadow_get(t->waiting, p, &e) || t->groups_wanted + need > t->groups_max)
		return -ENOSPC;
	return grant_one(t, &e, need);
}

/*
 * Installs waiting routes that need no group beyond this one: at most 511 prefixes in its 256
 * slots, and a prefix of the group's own length (its outer groups exist, too). Skips longer
 * waiting routes, a slot at a time. Returns 0 or -ENOMEM.
 */
static int
group_grant(struct fib_table *t, const struct prefix *group, unsigned *looks)
{
	unsigned slot = group->len / 8; /* index of the byte that selects the slot */
	struct prefix from = *group;
	struct shadow_entry e;

	for (; waiting_below(t, group, &from, &e); ++*looks) {
		from = e.prefix;
		if (e.prefix.len > group->len + 8) {
			memset(&from.b[slot + 1], 0xff, sizeof(from.b) - slot - 1);
			from.len = 129; /* after all prefixes of the slot */
		} else if (grant_one(t, &e, 0) != 0) {
			return -ENOMEM;
		}
	}
	return 0;
}

/*
 * Installs waiting routes whose groups have been added for neighbours, up to the limit per commit.
 */
static void
added_groups_grant(struct fib_table *t)
{
	struct shadow_entry group;

	for (unsigned looks = 0;
		looks < GRANT_LOOKS && next_in_turn(t->added_groups, &t->added_from, &group);
		looks++) {
		t->added_from = group.prefix;
		if (group_grant(t, &group.prefix, &looks) != 0)
			return;
		(void)shadow_remove(t->added_groups, &group.prefix);
	}
}

/* Installs waiting routes in turn while groups are free. Returns 0 or -ENOMEM. */
static int
waiting_grant(struct fib_table *t)
{
	struct shadow_entry e;

	while (next_in_turn(t->waiting, &t->retry_from_v6, &e)) {
		unsigned need = table_v6_need(t->routes, &e.prefix);

		t->retry_from_v6 = e.prefix;
		if (need > 0 && t->groups_wanted + need > t->groups_max - t->groups_kept)
			return 0;
		if (grant_one(t, &e, need) != 0)
			return -ENOMEM;
	}
	return 0;
}

void
fib_v6_grant(struct fib_table *t)
{
	if (!fib_v6_grant_pays(t) || waiting_grant(t) != 0)
		return;
	added_groups_grant(t);
	t->grant_wanted = shadow_count(t->added_groups) > 0;
}

bool
fib_v6_rebuild_pays(const struct fib_table *t)
{
	return shadow_count(t->open) + shadow_count(t->behind) >
	       REBUILD_FROM + t->groups_wanted / REBUILD_GROUPS;
}

static void
batch_release(const struct fib_table *t, struct table_v6 *copy, const struct shadow *batch)
{
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e))
		table_v6_release(copy, t->routes, &e.prefix);
}

/* Prefixes come in order, so a prefix inside the last painted one is skipped. */
static uint64_t
batch_paint(const struct fib_table *t, struct table_v6 *copy, const struct shadow *batch)
{
	struct prefix done = {.afi = AFI_NONE};
	struct shadow_cursor c;
	struct shadow_entry e;
	uint64_t writes = 0;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e)) {
		/* ::/0 is not painted: the generation keeps its path list as `miss` */
		if (e.prefix.len == 0 || (done.afi != AFI_NONE && prefix_covers(&done, &e.prefix)))
			continue;
		writes += table_v6_paint(copy, t->routes, &e.prefix);
		done = e.prefix;
	}
	return writes;
}

uint64_t
fib_v6_paint(const struct fib_table *t, struct table_v6 *copy)
{
	uint64_t writes;

	/*
	 * first free all groups that the copy does not need any more, so every reserved group is
	 * available
	 */
	batch_release(t, copy, t->behind);
	batch_release(t, copy, t->open);
	writes = batch_paint(t, copy, t->open);
	/* these writes were counted when the other copy was painted */
	(void)batch_paint(t, copy, t->behind);
	return writes;
}
