/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shards of a RIB as a whole: the mapping of prefixes to shards, and ids that are unique across
 * shards.
 *
 * A shard holds address ranges, by a hash of the first bits of an address; shorter prefixes are in
 * shard 0. So an aggregate and its specifics are mostly in one shard, and attribute sets stay shared.
 * The shards write one journal, which orders the changes for consumers (docs/decisions/0006).
 * Immutable after start; any thread reads.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/shard/shard.h"

/*
 * The length of a range depends on the table. Sites of customers mostly share 10.0.0.0/8, which has
 * 16 ranges of the first kind. Routes leak between tables of the second kind within a shard, because
 * the distinguisher does not count.
 */
enum shards_by {
	SHARDS_BY_NETWORK, /* unicast of VRF_DEFAULT: 12 bits of IPv4, 24 of IPv6 */
	SHARDS_BY_SITE, /* VPN tables and instances: 20 and 40 bits */
};

static inline enum shards_by
shards_by(struct vrf_id vrf, enum family family)
{
	return vrf.v == VRF_DEFAULT.v && family_safi(family) != SAFI_VPN ? SHARDS_BY_NETWORK
									 : SHARDS_BY_SITE;
}

/* Filled by the creator of the shards. */
struct shards {
	struct shard *at[SHARDS_MAX];
	unsigned count;
	unsigned bits; /* low bits of an id that name the shard */
};

/* All shards must have equal tables, with equal ids. */
void shards_init(struct shards *s, struct shard *const *at, unsigned count);
/* True for a prefix shorter than a range, which may cover prefixes of several shards. */
bool shards_wide(enum shards_by by, const struct prefix *p);
/* Bitmap of shards, except shard 0, that may have prefixes covered by a wide prefix. */
uint32_t shards_under(const struct shards *s, enum shards_by by, const struct prefix *p);
/* Index of the shard of a prefix. */
unsigned shards_of(const struct shards *s, enum shards_by by, const struct prefix *p);
static inline struct shard *
shards_for(const struct shards *s, enum shards_by by, const struct prefix *p)
{
	return s->at[s->count > 1 ? shards_of(s, by, p) : 0];
}
/* The shards, at most two, of prefixes that cover an address; returns the number. */
unsigned shards_covering(
	const struct shards *s, enum shards_by by, const struct ip_addr *a, struct shard *out[2]);

/*
 * ---- ids of destinations and attribute sets: of a shard <-> across shards; ids of similar age are
 * adjacent ----
 */

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

/*
 * Main, the only thread that asks for new tables: an id that no shard uses, for
 * shard_table_create() of all shards. TABLE_NONE: all ids are in use. In a read section.
 */
struct table_id shards_table_unused(const struct shards *s);

/* One table across all shards; functions as in dest.h, with ids across shards. */
struct shards_table {
	const struct shards *shards;
	enum shards_by by;
	const struct dest_table *at[1 << 4]; /* NULL: no shard of that index, or no table yet */
};
static_assert(SHARDS_MAX == 1 << 4, "places of all ids' shards");

/* In a read section, which is also the lifetime of *out. */
void shards_table(const struct shards *s, struct table_id id, struct shards_table *out);
uint32_t shards_limit(const struct shards_table *t);
struct dest_id shards_find(const struct shards_table *t, const struct prefix *p);
struct dest_id shards_find_rd(
	const struct shards_table *t, struct vpn_rd rd, const struct prefix *p);
struct dest_id shards_longest(
	const struct shards_table *t, const struct ip_addr *a, struct dest_view *out);

static inline bool
shards_peek(const struct shards_table *t, struct dest_id id, struct dest_view *out)
{
	const struct dest_table *d = t->at[shards_index(t->shards, id)];

	return d != NULL && dest_peek(d, shards_local(t->shards, id), out);
}

static inline bool
shards_peek_all(const struct shards_table *t, struct dest_id id, struct dest_view *out,
	struct path_set *room, unsigned size)
{
	const struct dest_table *d = t->at[shards_index(t->shards, id)];

	return d != NULL && dest_peek_all(d, shards_local(t->shards, id), out, room, size);
}

static inline bool
shards_offers(const struct shards_table *t, struct dest_id id, struct peer_id peer)
{
	const struct dest_table *d = t->at[shards_index(t->shards, id)];

	return d != NULL && dest_offers(d, shards_local(t->shards, id), peer);
}

/* ---- peers ---- */

/* Sum of shard_peer_memory(). */
size_t shards_peer_memory(const struct shards *s, struct peer_id id);
/* Sums over the shards, which may have processed different parts of the input. */
void shards_peer_counts(const struct shards *s, struct peer_id id, enum family family,
	struct adj_rib_in_counts *out);
/*
 * The sum of `counted` at a single time. (shards_peer_counts() reads one shard after the other: if
 * the peer exchanges a prefix meanwhile for a prefix of another shard, both count.) `input`: the
 * input with the peer's records. False: the shards handle records too fast; read again later.
 */
bool shards_peer_counted(const struct shards *s, unsigned input, struct peer_id id,
	enum family family, uint64_t *out);
bool shards_peer_refused(const struct shards *s, struct peer_id id, enum family family,
	uint64_t out[REFUSED_CAUSES]);
uint64_t shards_ailing(const struct shards *s, enum family family, unsigned word);
