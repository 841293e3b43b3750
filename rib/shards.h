/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shards of a RIB as one: which of them has a prefix, and ids that are good for all of them.
 *
 * A shard holds address ranges, by a hash of the first 12 bits of an IPv4 address and 24 of an IPv6 one; shorter prefixes are in shard 0. So an
 * aggregate and its specifics are mostly in one shard, and attribute sets stay shared. They write one journal, whose order is the
 * one in which consumers see their changes; docs/decisions/0006.
 *
 * Readers hold it: nobody writes it after start.
 */
#pragma once

#include "lpm/base.h"
#include "rib/shard.h"

/* Set by whoever makes the shards. */
struct shards {
	struct shard *at[SHARDS_MAX];
	unsigned count;
	unsigned bits; /* of an id that name the shard */
};

/* All tables have been added to each in the same order. */
void shards_init(struct shards *s, struct shard *const *at, unsigned count);
/* Is it shorter than a range, so that it may cover what other shards have? */
bool shards_wide(const struct prefix *p);
/* Bits: those that may have what such a one covers, but for the first. */
uint32_t shards_under(const struct shards *s, const struct prefix *p);
/* The one that has it. */
unsigned shards_of(const struct shards *s, const struct prefix *p);
static inline struct shard *
shards_for(const struct shards *s, const struct prefix *p)
{
	return s->at[s->count > 1 ? shards_of(s, p) : 0];
}
/* Where prefixes that cover it are: one or two; how many. */
unsigned shards_covering(const struct shards *s, const struct ip_addr *a, struct shard *out[2]);

/* ---- ids: of a shard's destination, or attribute set, and of all the same; neighbours of one age lie together ---- */

static inline uint32_t
shards_id(const struct shards *s, unsigned shard, uint32_t id)
{
	return id << s->bits | shard;
}

static inline unsigned
shards_index(const struct shards *s, struct dest_id id)
{
	return id.v & ((1u << s->bits) - 1);
}

static inline struct dest_id
shards_local(const struct shards *s, struct dest_id id)
{
	return (struct dest_id){id.v >> s->bits};
}

/* One table over all shards; as dest_table's of the same name, with ids of all. */
struct shards_table {
	const struct shards *shards;
	const struct dest_table *at[1 << 4]; /* NULL: no such shard */
};
static_assert(SHARDS_MAX == 1 << 4, "places of all ids' shards");

void shards_table(const struct shards *s, struct table_id id, struct shards_table *out);
uint32_t shards_limit(const struct shards_table *t);
struct dest_id shards_find(const struct shards_table *t, const struct prefix *p);
struct dest_id shards_longest(
	const struct shards_table *t, const struct ip_addr *a, struct dest_view *out);

static inline bool
shards_peek(const struct shards_table *t, struct dest_id id, struct dest_view *out)
{
	const struct dest_table *d = t->at[shards_index(t->shards, id)];

	return d != NULL && dest_peek(d, shards_local(t->shards, id), out);
}

/* ---- peers ---- */

/* Sum of shard_peer_memory(). */
size_t shards_peer_memory(const struct shards *s, struct peer_id id);
/* Sums; of what all shards do, as far as all of them have come. */
void shards_peer_counts(const struct shards *s, struct peer_id id, enum family family,
	struct adj_rib_in_counts *out);
bool shards_peer_refused(const struct shards *s, struct peer_id id, enum family family,
	uint64_t out[REFUSED_CAUSES]);
uint64_t shards_ailing(const struct shards *s, enum family family, unsigned word);
