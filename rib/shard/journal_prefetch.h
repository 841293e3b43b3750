/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prefetches the destinations of a run of journal entries. Reading an entry takes four dependent
 * cache misses: the destination, the paths, the slot of the best path's attribute set, and the set,
 * all just written by the CPU of a shard. Each stage runs a fixed distance ahead of the current
 * entry, so that the line has arrived when the next stage needs it.
 *
 * Used by the fib feed and by update groups. The walks over destinations by id (shard_replay.c) and
 * the import by prefix (shard_import.c) have other stages, and keep pipelines of their own.
 *
 * Owner: the consumer's thread, on its stack. Inline: the stages of a consumer are constants, and
 * most of a step is loops of length one.
 */
#pragma once

#include "rib/table/attr.h"
#include "rib/table/journal.h"
#include "rib/shard/shard.h"
#include "rib/shard/shards.h"

#define JOURNAL_PREFETCH_MAX 512u

/* How many entries ahead each stage runs, from the first stage to the last: falling. */
struct journal_prefetch_ahead {
	unsigned dests, paths, slots, sets;
};

/* Prefetches a line of the consumer for entry `e`, at the time of the stage. May be NULL. */
typedef void journal_prefetch_more(void *ctx, const struct journal_entry *e);

struct journal_prefetch {
	const struct shards *shards;
	bool attributes; /* false: the stages of slots and sets are left out */
	unsigned count, at; /* number of chosen entries; the next entry of the consumer */
	unsigned dests, paths, slots, sets; /* chosen entries behind each stage */
	struct journal_prefetch_entry {
		const struct journal_entry *entry;
		const struct dest_table *table;
		struct attr_id best;
	} chosen[JOURNAL_PREFETCH_MAX];
};

/*
 * Begins a run of at most JOURNAL_PREFETCH_MAX entries. `attributes`: the consumer reads most
 * attribute sets.
 */
static inline void
journal_prefetch_begin(struct journal_prefetch *p, const struct shards *shards, bool attributes)
{
	p->shards = shards;
	p->attributes = attributes;
	p->count = p->at = p->dests = p->paths = p->slots = p->sets = 0;
}

/*
 * Chooses entry `e`, whose destination is in `table`. Called in order of the run, before the first
 * step.
 */
static inline void
journal_prefetch_choose(
	struct journal_prefetch *p, const struct journal_entry *e, const struct dest_table *table)
{
	struct journal_prefetch_entry *c = &p->chosen[p->count++];

	c->entry = e;
	c->table = table;
}

/* `e` is the next chosen entry. */
static inline bool
journal_prefetch_next(const struct journal_prefetch *p, const struct journal_entry *e)
{
	return p->at < p->count && p->chosen[p->at].entry == e;
}

static inline unsigned
journal_prefetch_end(const struct journal_prefetch *p, unsigned ahead)
{
	return p->at + ahead < p->count ? p->at + ahead : p->count;
}

/* Before the consumer looks at the next `count` chosen entries. */
static inline __attribute__((always_inline)) void
journal_prefetch_step(struct journal_prefetch *p, unsigned count,
	struct journal_prefetch_ahead ahead, journal_prefetch_more *with_dest,
	journal_prefetch_more *with_paths, void *ctx)
{
	for (unsigned end = journal_prefetch_end(p, ahead.dests); p->dests < end; p->dests++) {
		struct journal_prefetch_entry *c = &p->chosen[p->dests];

		dest_prefetch_id(c->table, c->entry->dest);
		if (with_dest != NULL)
			with_dest(ctx, c->entry);
	}
	for (unsigned end = journal_prefetch_end(p, ahead.paths); p->paths < end; p->paths++) {
		struct journal_prefetch_entry *c = &p->chosen[p->paths];

		dest_prefetch_paths(c->table, c->entry->dest);
		if (with_paths != NULL)
			with_paths(ctx, c->entry);
	}
	if (!p->attributes) {
		p->at += count;
		return;
	}
	for (unsigned end = journal_prefetch_end(p, ahead.slots); p->slots < end; p->slots++) {
		struct journal_prefetch_entry *c = &p->chosen[p->slots];

		c->best = dest_hint_best(c->table, c->entry->dest);
		attr_prefetch(shard_attrs(p->shards->at[c->entry->shard]), c->best);
	}
	for (unsigned end = journal_prefetch_end(p, ahead.sets); p->sets < end; p->sets++) {
		struct journal_prefetch_entry *c = &p->chosen[p->sets];
		const struct attr_packed *set;

		/* Adjacent entries of one UPDATE share the set. */
		if (p->sets > 0 && c->best.v == c[-1].best.v)
			continue;
		set = attr_get(shard_attrs(p->shards->at[c->entry->shard]), c->best);
		if (set != NULL)
			attr_packed_prefetch(set);
	}
	p->at += count;
}
