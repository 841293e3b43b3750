/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Left-right with painting from the shadow. A batch is only a set of changed prefixes (with the
 * lists that they had before). To bring the idle copy up to date, what the last batch and the open
 * one changed is painted from the shadow as it is now; nothing is replayed in order, so a prefix
 * changed ten times is painted once.
 *
 *   commit n      paint open -> copy B, publish B          behind = batch n: copy A lacks it
 *   grace period  no reader is in A any more
 *   commit n+1    paint behind and open -> copy A, publish A; what batch n replaced is in no copy
 *
 * References: the shadow holds one for each entry. When an entry changes, that reference passes to
 * the batch, and is given up when both copies were painted without it: so it stands for the copies,
 * however many show the list.
 */
#include "lpm/fib.h"

#include "lpm/arena.h"
#include "lpm/fib_read.h"
#include "lpm/qsbr.h"
#include "lpm/shadow.h"
#include "lpm/table_v4.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

/*
 * Above this many changed prefixes the idle copy is painted whole: on a full table both cost 12 ms
 * there (docs/decisions/0001).
 */
#define REBUILD_FROM 131072
/* Table lines fetched ahead of the painter; leaves of the shadow come in order anyway. */
#define PAINT_AHEAD 4

#define GROUPS_DEFAULT_MAX 65536u
#define GROUP_BYTES 1024u
#define NOTHING ((struct path_list_id){PATH_LIST_NONE})

/* Written by the fib thread, read by any: relaxed. */
struct table_counters {
	_Atomic uint64_t writes, rebuilds, installed, not_installed, groups_used, memory_bytes;
};

struct fib_table {
	struct vrf_id vrf;
	struct shadow *routes;
	struct shadow *open; /* changed since the last commit: prefix -> list before */
	struct shadow *behind; /* published, but the idle copy lacks it */
	struct shadow *waiting; /* each /24 whose longer prefixes have no group */
	struct table_v4 *copy[2];
	uint32_t groups_max;
	uint32_t groups_wanted; /* each /24 with longer prefixes that are not waiting */
	uint64_t waiting_routes;
	uint32_t retry_from; /* the retries go round */
	size_t mapped_bytes;
	alignas(CACHE_LINE) struct table_counters counters;
};

struct fib {
	struct fib_reader reader; /* what workers have */
	alignas(CACHE_LINE) struct fib_generation generation[2]; /* one for each copy */
	struct arena *arena;
	struct qsbr *workers;
	struct path_lists *path_lists;
	size_t memory_left;
	bool huge;
	uint32_t tbl8_groups;
	/*
	 * release: a table is complete before another thread finds it, pairs with the acquire in
	 * table_get
	 */
	_Atomic(struct fib_table *) table[FIB_VRF_MAX];
	unsigned idle; /* the copy that no new reader gets */
	bool grace_open; /* readers may still be in the idle copy */
	bool flip_wanted; /* a table was added */
	uint64_t grace_token;
	uint64_t published_ns;
	_Atomic uint64_t commits;
	_Atomic uint64_t number; /* of the current generation */
	struct hist commit_hist, grace_hist;
};

/* The one writer's way to add. */
static void
counter_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static void
counter_set(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, n, memory_order_relaxed);
}

static uint64_t
counter_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static struct fib_table *
table_get(const struct fib *f, struct vrf_id vrf)
{
	if (vrf.v >= FIB_VRF_MAX)
		return NULL;
	/* acquire: pairs with the release store in fib_vrf_add */
	return atomic_load_explicit(&f->table[vrf.v], memory_order_acquire);
}

/* The tables that there are: for (vrf = 0; (t = table_next(f, &vrf)) != NULL;) */
static struct fib_table *
table_next(const struct fib *f, uint16_t *vrf)
{
	while (*vrf < FIB_VRF_MAX) {
		struct fib_table *t = table_get(f, (struct vrf_id){(*vrf)++});

		if (t != NULL)
			return t;
	}
	return NULL;
}

int
fib_create(const struct fib_config *config, struct fib **out)
{
	struct fib *f = arena_alloc_aligned(config->arena, alignof(struct fib), sizeof(*f));
	int err;

	if (f == NULL)
		return -ENOMEM;
	*f = (struct fib){
		.arena = config->arena,
		.workers = config->workers,
		.memory_left = config->memory_bytes,
		.huge = config->huge,
		.tbl8_groups = config->tbl8_groups,
		.idle = 1,
		.number = 1,
	};
	err = path_lists_create(config->arena, config->workers, &f->path_lists);
	if (err != 0) {
		arena_free(config->arena, f);
		return err;
	}
	f->generation[0].number = 1;
	f->reader.path_lists = path_lists_array(f->path_lists);
	f->reader.next_hops = next_hops_array(f->path_lists);
	f->reader.adjacencies = adjacencies_array(f->path_lists);
	/* release: pairs with the acquire in fib_read_begin */
	atomic_store_explicit(&f->reader.current, &f->generation[0], memory_order_release);
	*out = f;
	return 0;
}

static void
table_destroy(struct fib *f, struct fib_table *t)
{
	if (t == NULL)
		return;
	table_v4_destroy(t->copy[0]);
	table_v4_destroy(t->copy[1]);
	shadow_destroy(t->routes);
	shadow_destroy(t->open);
	shadow_destroy(t->behind);
	shadow_destroy(t->waiting);
	arena_free(f->arena, t);
}

void
fib_destroy(struct fib *f)
{
	struct fib_table *t;
	uint16_t vrf = 0;

	if (f == NULL)
		return;
	while ((t = table_next(f, &vrf)) != NULL)
		table_destroy(f, t);
	path_lists_destroy(f->path_lists);
	arena_free(f->arena, f);
}

/* Groups of each copy within the memory that is left; -ENOSPC when not even tbl24 fits. */
static int
groups_choose(const struct fib *f, uint32_t *groups)
{
	size_t each = f->memory_left / 2, base = table_v4_bytes(0);
	size_t room;

	if (each < base)
		return -ENOSPC;
	room = (each - base) / GROUP_BYTES;
	*groups = f->tbl8_groups;
	if (*groups == 0)
		*groups = room < GROUPS_DEFAULT_MAX ? (uint32_t)room : GROUPS_DEFAULT_MAX;
	return *groups <= TABLE_V4_GROUPS_MAX && table_v4_bytes(*groups) <= each ? 0 : -ENOSPC;
}

static int
table_create(struct fib *f, struct vrf_id vrf, uint32_t groups, struct fib_table **out)
{
	struct fib_table *t = arena_alloc_aligned(f->arena, alignof(struct fib_table), sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	*t = (struct fib_table){.vrf = vrf, .groups_max = groups};
	t->mapped_bytes = 2 * table_v4_bytes(groups);
	if (shadow_create(f->arena, AFI_IPV4, &t->routes) != 0 ||
		shadow_create(f->arena, AFI_IPV4, &t->open) != 0 ||
		shadow_create(f->arena, AFI_IPV4, &t->behind) != 0 ||
		shadow_create(f->arena, AFI_IPV4, &t->waiting) != 0 ||
		table_v4_create(f->arena, groups, f->huge, &t->copy[0]) != 0 ||
		table_v4_create(f->arena, groups, f->huge, &t->copy[1]) != 0) {
		table_destroy(f, t);
		return -ENOMEM;
	}
	counter_set(&t->counters.memory_bytes, t->mapped_bytes);
	*out = t;
	return 0;
}

int
fib_vrf_add(struct fib *f, struct vrf_id vrf, enum afi afi)
{
	struct fib_table *t;
	uint32_t groups;
	int err;

	if (afi != AFI_IPV4)
		return -EAFNOSUPPORT;
	if (vrf.v >= FIB_VRF_MAX)
		return -ENOSPC;
	if (table_get(f, vrf) != NULL)
		return 0;
	err = groups_choose(f, &groups);
	if (err == 0)
		err = table_create(f, vrf, groups, &t);
	if (err != 0)
		return err;
	f->memory_left -= t->mapped_bytes;
	/* release: pairs with the acquire in table_get */
	atomic_store_explicit(&f->table[vrf.v], t, memory_order_release);
	f->flip_wanted = true;
	return 0;
}

struct path_lists *
fib_path_lists(struct fib *f)
{
	return f->path_lists;
}

static struct prefix
slot_prefix(const struct prefix *p)
{
	struct prefix slot = *p;

	slot.b[3] = 0;
	slot.len = 24;
	return slot;
}

/* The first prefix longer than /24 of this /24. */
static bool
slot_first(const struct fib_table *t, const struct prefix *slot, struct shadow_entry *out)
{
	struct prefix from = *slot;
	struct shadow_cursor c;

	from.len = 25;
	shadow_seek(t->routes, &from, &c);
	return shadow_next(&c, out) && prefix_covers(slot, &out->prefix);
}

/* In the batch, with what it had before; `*added` says whether it was not there yet. */
static int
batch_add(struct fib_table *t, const struct prefix *p, struct path_list_id before, bool *added)
{
	*added = !shadow_get(t->open, p, NULL);
	return *added ? shadow_set(t->open, p, before, false) : 0;
}

/*
 * Does this new prefix get a group? With its /24's other longer prefixes if there are any, else if
 * one is left and no other /24 waits for it; and if not, its /24 waits. 0, -ENOMEM.
 */
static int
group_claim(struct fib_table *t, const struct prefix *p, bool *waiting)
{
	struct prefix slot = slot_prefix(p);
	struct shadow_entry other;

	*waiting = false;
	if (p->len <= 24)
		return 0;
	if (slot_first(t, &slot, &other)) {
		*waiting = other.waiting;
	} else if (t->groups_wanted < t->groups_max && shadow_count(t->waiting) == 0) {
		t->groups_wanted++;
	} else {
		*waiting = true;
		if (shadow_set(t->waiting, &slot, NOTHING, false) != 0)
			return -ENOMEM;
	}
	if (*waiting)
		t->waiting_routes++;
	return 0;
}

/*
 * The prefix is not in the shadow (any more): its claim, and its /24's if it was the last, is void.
 */
static void
group_disclaim(struct fib_table *t, const struct prefix *p, bool waiting)
{
	struct prefix slot = slot_prefix(p);
	struct shadow_entry other;

	if (p->len <= 24)
		return;
	if (waiting)
		t->waiting_routes--;
	if (slot_first(t, &slot, &other))
		return;
	if (waiting)
		(void)shadow_remove(t->waiting, &slot);
	else
		t->groups_wanted--;
}

/* Puts a prefix that has none yet into the shadow. */
static int
route_insert(struct fib_table *t, const struct prefix *p, struct path_list_id list)
{
	bool waiting;
	int err = group_claim(t, p, &waiting);

	if (err != 0)
		return err;
	err = shadow_set(t->routes, p, list, waiting);
	if (err != 0)
		group_disclaim(t, p, waiting);
	return err;
}

int
fib_set(struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
{
	struct fib_table *t = table_get(f, vrf);
	struct shadow_entry old = {0};
	bool present, added;
	int err;

	if (t == NULL || p->afi != AFI_IPV4)
		return -ENOENT;
	assert(list.v != PATH_LIST_NONE && list.v < PATH_LIST_MAX);
	present = shadow_get(t->routes, p, &old);
	if (present && old.list.v == list.v)
		return 0;
	err = batch_add(t, p, old.list, &added);
	if (err != 0)
		return err;
	if (present)
		err = shadow_set(t->routes, p, list, old.waiting); /* a replacement: cannot fail */
	else
		err = route_insert(t, p, list);
	if (err != 0) {
		if (added)
			(void)shadow_remove(t->open, p);
		return err;
	}
	path_list_ref(f->path_lists, list);
	/* set in this batch, so no copy has it; else the batch has the reference now */
	if (present && !added)
		path_list_unref(f->path_lists, old.list);
	return 0;
}

int
fib_withdraw(struct fib *f, struct vrf_id vrf, const struct prefix *p)
{
	struct fib_table *t = table_get(f, vrf);
	struct shadow_entry old;
	bool added;

	if (t == NULL || p->afi != AFI_IPV4 || !shadow_get(t->routes, p, &old))
		return -ENOENT;
	if (batch_add(t, p, old.list, &added) != 0)
		return -ENOMEM;
	(void)shadow_remove(t->routes, p);
	group_disclaim(t, p, old.waiting);
	if (!added)
		path_list_unref(f->path_lists, old.list);
	return 0;
}

unsigned
fib_batch_count(const struct fib *f)
{
	struct fib_table *t;
	uint16_t vrf = 0;
	uint64_t count = 0;

	while ((t = table_next(f, &vrf)) != NULL)
		count += shadow_count(t->open);
	return (unsigned)count;
}

/* Marks a /24's longer prefixes as having a group. Replacements only: nothing can fail. */
static void
slot_install(struct fib_table *t, const struct prefix *slot)
{
	struct prefix from = *slot;
	struct shadow_entry e;
	struct shadow_cursor c;

	from.len = 25;
	shadow_seek(t->routes, &from, &c);
	while (shadow_next(&c, &e) && prefix_covers(slot, &e.prefix)) {
		(void)shadow_set(t->routes, &e.prefix, e.list, false);
		t->waiting_routes--;
	}
}

/*
 * Groups came free: to those that wait, in turn. Each /24 joins the batch, so that both copies
 * paint it.
 */
static void
groups_grant(struct fib_table *t)
{
	while (t->groups_wanted < t->groups_max && shadow_count(t->waiting) > 0) {
		struct prefix from = prefix_from_v4(t->retry_from, 24);
		struct shadow_entry slot;
		struct shadow_cursor c;
		bool added;

		shadow_seek(t->waiting, &from, &c);
		if (!shadow_next(&c, &slot)) {
			shadow_seek(t->waiting, NULL, &c);
			(void)shadow_next(&c, &slot);
		}
		/* no list before: there is no reference to give up for a mere repainting */
		if (batch_add(t, &slot.prefix, NOTHING, &added) != 0)
			return;
		slot_install(t, &slot.prefix);
		(void)shadow_remove(t->waiting, &slot.prefix);
		t->groups_wanted++;
		t->retry_from = prefix_v4(&slot.prefix) + 256;
	}
}

/* All groups that the copy can spare, before any is taken: then what was reserved is there. */
static void
batch_release(const struct fib_table *t, struct table_v4 *copy, const struct shadow *batch)
{
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (e.prefix.len > 24)
			table_v4_release(copy, t->routes, prefix_v4(&e.prefix));
	}
}

/* Prefixes come in order, so one that lies within the one painted before is passed over. */
static uint64_t
batch_paint(const struct fib_table *t, struct table_v4 *copy, const struct shadow *batch)
{
	struct shadow_cursor c;
	const uint64_t *word;
	uint64_t writes = 0, done = 0; /* addresses below `done` are painted */
	unsigned count;

	shadow_seek(batch, NULL, &c);
	while ((count = shadow_v4_run(&c, &word)) > 0) {
		for (unsigned i = 0; i < count; i++) {
			uint32_t addr = shadow_v4_addr(word[i]);
			uint8_t len = shadow_v4_len(word[i]);

			if (i + PAINT_AHEAD < count)
				table_v4_prefetch(copy, shadow_v4_addr(word[i + PAINT_AHEAD]));
			/* 0/0 is the generation's miss entry */
			if (len == 0 || addr < done)
				continue;
			if (len > 24)
				len = 24;
			addr &= v4_mask(len);
			writes += table_v4_paint(copy, t->routes, addr, len);
			done = addr + (1ull << (32 - len));
		}
	}
	return writes;
}

static bool
rebuild_pays(const struct fib_table *t)
{
	return shadow_count(t->open) + shadow_count(t->behind) > REBUILD_FROM;
}

static void
table_paint(struct fib_table *t, struct table_v4 *copy)
{
	uint64_t writes;

	if (rebuild_pays(t)) {
		writes = table_v4_rebuild(copy, t->routes);
		counter_add(&t->counters.rebuilds, 1);
	} else {
		batch_release(t, copy, t->behind);
		batch_release(t, copy, t->open);
		writes = batch_paint(t, copy, t->open);
		/* counted when the other copy was painted */
		(void)batch_paint(t, copy, t->behind);
	}
	if (shadow_count(t->open) > 0)
		counter_add(&t->counters.writes, writes);
}

static uint32_t
miss_of(const struct fib_table *t)
{
	struct prefix all = {.afi = AFI_IPV4};
	struct shadow_entry e;

	return shadow_get(t->routes, &all, &e) ? e.list.v : PATH_LIST_NONE;
}

/*
 * The generation of the idle copy has had no reader since the last grace period: it is written and
 * then shown.
 */
static void
publish(struct fib *f)
{
	struct fib_generation *g = &f->generation[f->idle];
	struct fib_table *t;
	uint16_t vrf = 0;

	g->number = counter_get(&f->number) + 1;
	while ((t = table_next(f, &vrf)) != NULL) {
		g->v4[t->vrf.v].lpm = table_v4_lpm(t->copy[f->idle]);
		g->v4[t->vrf.v].miss = miss_of(t);
	}
	/* release: pairs with the acquire in fib_read_begin */
	atomic_store_explicit(&f->reader.current, g, memory_order_release);
	f->grace_token = qsbr_start(f->workers);
	f->grace_open = true;
	f->flip_wanted = false;
	f->idle ^= 1;
	counter_set(&f->number, g->number);
	counter_add(&f->commits, 1);
}

/* Both copies were painted without what `behind` replaced. */
static void
batch_drop(struct fib *f, struct fib_table *t) RUNS_ON(role_fib)
{
	struct shadow *batch = t->behind;
	struct shadow_cursor c;
	struct shadow_entry e;

	shadow_seek(batch, NULL, &c);
	while (shadow_next(&c, &e)) {
		if (e.list.v != PATH_LIST_NONE)
			path_list_unref(f->path_lists, e.list);
	}
	shadow_clear(batch);
	t->behind = t->open;
	t->open = batch;
}

static void
table_count(struct fib_table *t)
{
	struct table_counters *n = &t->counters;

	counter_set(&n->installed, shadow_count(t->routes) - t->waiting_routes);
	counter_set(&n->not_installed, t->waiting_routes);
	counter_set(&n->groups_used, t->groups_wanted);
	counter_set(&n->memory_bytes, t->mapped_bytes + shadow_bytes(t->routes) +
					      shadow_bytes(t->open) + shadow_bytes(t->behind) +
					      shadow_bytes(t->waiting));
}

static bool
has_work(const struct fib *f)
{
	struct fib_table *t;
	uint16_t vrf = 0;

	while ((t = table_next(f, &vrf)) != NULL) {
		if (shadow_count(t->open) > 0 || shadow_count(t->behind) > 0)
			return true;
		if (shadow_count(t->waiting) > 0 && t->groups_wanted < t->groups_max)
			return true;
	}
	return f->flip_wanted;
}

static int
commit_status(const struct fib *f)
{
	struct fib_table *t;
	uint16_t vrf = 0;

	while ((t = table_next(f, &vrf)) != NULL) {
		if (t->waiting_routes > 0)
			return -ENOSPC;
	}
	return 0;
}

static uint64_t
clock_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* True when no reader can be in the idle copy. Never waits. */
static bool
grace_over(struct fib *f, uint64_t now_ns)
{
	if (!f->grace_open)
		return true;
	if (!qsbr_done(f->workers, f->grace_token))
		return false;
	f->grace_open = false;
	hist_add(&f->grace_hist, now_ns > f->published_ns ? now_ns - f->published_ns : 0);
	return true;
}

int
fib_commit(struct fib *f, uint64_t now_ns)
{
	bool flip = f->flip_wanted;
	uint64_t begin_ns, took_ns;
	struct fib_table *t;

	if (!has_work(f))
		return commit_status(f);
	if (!grace_over(f, now_ns))
		return -EAGAIN;
	begin_ns = clock_ns();
	for (uint16_t vrf = 0; (t = table_next(f, &vrf)) != NULL;) {
		groups_grant(t);
		flip |= shadow_count(t->open) > 0;
		table_paint(t, t->copy[f->idle]);
	}
	if (flip)
		publish(f);
	for (uint16_t vrf = 0; (t = table_next(f, &vrf)) != NULL;) {
		batch_drop(f, t);
		table_count(t);
	}
	took_ns = clock_ns() - begin_ns;
	if (flip) {
		f->published_ns = now_ns + took_ns;
		hist_add(&f->commit_hist, took_ns);
	}
	return commit_status(f);
}

bool
fib_settled(const struct fib *f)
{
	return !has_work(f);
}

bool
fib_shadow_get(
	const struct fib *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id *out)
{
	const struct fib_table *t = table_get(f, vrf);
	struct shadow_entry e;

	if (t == NULL || p->afi != AFI_IPV4 || !shadow_get(t->routes, p, &e))
		return false;
	*out = e.list;
	return true;
}

bool
fib_shadow_lookup(const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr,
	struct prefix *prefix, struct path_list_id *out)
{
	const struct fib_table *t = table_get(f, vrf);
	struct shadow_entry e;

	if (t == NULL || addr->afi != AFI_IPV4 || !shadow_cover(t->routes, addr, 32, &e))
		return false;
	*prefix = e.prefix;
	*out = e.list;
	return true;
}

bool
fib_shadow_next(
	const struct fib *f, struct vrf_id vrf, const struct prefix *after, struct prefix *out)
{
	const struct fib_table *t = table_get(f, vrf);
	struct shadow_cursor c;
	struct shadow_entry e;

	if (t == NULL)
		return false;
	shadow_seek(t->routes, after, &c);
	if (!shadow_next(&c, &e))
		return false;
	if (after != NULL && prefix_equal(&e.prefix, after) && !shadow_next(&c, &e))
		return false;
	*out = e.prefix;
	return true;
}

int
fib_lookup(
	const struct fib *f, struct vrf_id vrf, const struct ip_addr *addr, struct fib_result *out)
{
	const struct fib_generation *g = fib_read_begin(&f->reader);
	struct path_list_id list;
	uint8_t len = 0;

	if (table_get(f, vrf) == NULL || addr->afi != AFI_IPV4)
		return -ENOENT;
	*out = (struct fib_result){.generation = g->number};
	/* a table added since is not in this generation yet: nothing is in it */
	if (g->v4[vrf.v].lpm == NULL)
		return 0;
	if (!table_v4_read(g->v4[vrf.v].lpm, addr_v4(addr), &list, &len)) {
		list.v = g->v4[vrf.v].miss;
		len = 0;
	}
	if (list.v == PATH_LIST_NONE)
		return 0;
	out->hit = true;
	out->prefix = prefix_from_addr(addr, len);
	out->path_list = list;
	return 0;
}

static void
counters_sum(const struct table_counters *n, struct fib_stats *out)
{
	out->writes += counter_get(&n->writes);
	out->rebuilds += counter_get(&n->rebuilds);
	out->installed += counter_get(&n->installed);
	out->not_installed += counter_get(&n->not_installed);
	out->groups_used += (uint32_t)counter_get(&n->groups_used);
	out->memory_bytes += counter_get(&n->memory_bytes);
}

void
fib_stats_get(const struct fib *f, struct fib_stats *out)
{
	struct fib_table *t;
	uint16_t vrf = 0;

	*out = (struct fib_stats){
		.generation = counter_get(&f->number),
		.commits = counter_get(&f->commits),
	};
	while ((t = table_next(f, &vrf)) != NULL)
		counters_sum(&t->counters, out);
}

int
fib_table_stats_get(const struct fib *f, struct vrf_id vrf, enum afi afi, struct fib_stats *out)
{
	const struct fib_table *t = table_get(f, vrf);

	if (t == NULL || afi != AFI_IPV4)
		return -ENOENT;
	*out = (struct fib_stats){
		.generation = counter_get(&f->number),
		.commits = counter_get(&f->commits),
	};
	counters_sum(&t->counters, out);
	return 0;
}

const struct hist *
fib_commit_hist(const struct fib *f)
{
	return &f->commit_hist;
}

const struct hist *
fib_grace_hist(const struct fib *f)
{
	return &f->grace_hist;
}

const struct fib_reader *
fib_reader(const struct fib *f)
{
	return &f->reader;
}
