/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/shards.h"

#include <string.h>

#define COUNTED_READS 8u

void
shards_init(struct shards *s, struct shard *const *at, unsigned count)
{
	*s = (struct shards){.count = count};
	for (unsigned i = 0; i < count; i++)
		s->at[i] = at[i];
	while (1u << s->bits < count)
		s->bits++;
}

/* Length of a range. */
static unsigned
range_bits(enum shards_by by, uint8_t afi)
{
	if (afi == AFI_IPV4)
		return by == SHARDS_BY_SITE ? 20 : 12;
	return by == SHARDS_BY_SITE ? 40 : 24;
}

/* The first 40 bits of an address. */
static uint64_t
first_bits(uint8_t afi, const uint8_t *b)
{
	return (uint64_t)b[0] << 32 | (uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 |
	       (uint32_t)b[3] << 8 | (afi == AFI_IPV4 ? 0u : b[4]);
}

/*
 * Hashes a range. Not keyed: all prefixes of a range are in one shard anyway, so loading one shard
 * needs no collisions, and the damage of an attack is bounded by the load of one shard.
 */
static unsigned
range_shard(const struct shards *s, uint8_t afi, uint64_t range)
{
	return (unsigned)((hash_mix((uint64_t)afi << 32 ^ range) >> 32) * s->count >> 32);
}

static unsigned
addr_shard(const struct shards *s, enum shards_by by, uint8_t afi, const uint8_t *b)
{
	return range_shard(s, afi, first_bits(afi, b) >> (40 - range_bits(by, afi)));
}

bool
shards_wide(enum shards_by by, const struct prefix *p)
{
	return p->len < range_bits(by, p->afi);
}

unsigned
shards_of(const struct shards *s, enum shards_by by, const struct prefix *p)
{
	if (s->count == 1 || shards_wide(by, p))
		return 0;
	return addr_shard(s, by, p->afi, p->b);
}

#define RANGE_LEN_MAX 8u /* up to 2^8 ranges are checked singly; above, all shards are returned */

uint32_t
shards_under(const struct shards *s, enum shards_by by, const struct prefix *p)
{
	unsigned bits = range_bits(by, p->afi), len = bits - p->len;
	uint32_t all = (1u << s->count) - 2, under = 0;
	uint64_t first = first_bits(p->afi, p->b) >> (40 - bits);

	if (len > RANGE_LEN_MAX)
		return all;
	for (uint32_t i = 0; i < 1u << len && under != all; i++)
		under |= 1u << range_shard(s, p->afi, first + i) & all;
	return under;
}

unsigned
shards_covering(
	const struct shards *s, enum shards_by by, const struct ip_addr *a, struct shard *out[2])
{
	unsigned i = s->count > 1 ? addr_shard(s, by, a->afi, a->b) : 0;

	out[0] = s->at[i];
	out[1] = s->at[0];
	return i != 0 ? 2 : 1;
}

struct table_id
shards_table_unused(const struct shards *s)
{
	for (struct table_id id = {0}; id.v < SHARD_TABLES_MAX; id.v++) {
		bool used = false;

		for (unsigned i = 0; i < s->count; i++)
			used |= shard_table(s->at[i], id) != NULL;
		if (!used)
			return id;
	}
	return TABLE_NONE;
}

void
shards_table(const struct shards *s, struct table_id id, struct shards_table *out)
{
	*out = (struct shards_table){.shards = s};
	for (unsigned i = 0; i < s->count; i++) {
		enum family family;
		struct vrf_id vrf;

		out->at[i] = shard_table(s->at[i], id);
		shard_table_key(s->at[i], id, &vrf, &family);
		if (out->at[i] != NULL && family < FAMILY_COUNT)
			out->by = shards_by(vrf, family);
	}
}

uint32_t
shards_limit(const struct shards_table *t)
{
	uint32_t limit = 0;

	for (unsigned i = 0; i < t->shards->count; i++) {
		uint32_t n = t->at[i] != NULL ? dest_limit(t->at[i]) : 0;

		if (n > limit)
			limit = n;
	}
	return limit << t->shards->bits;
}

struct dest_id
shards_find(const struct shards_table *t, const struct prefix *p)
{
	return shards_find_rd(t, (struct vpn_rd){0}, p);
}

struct dest_id
shards_find_rd(const struct shards_table *t, struct vpn_rd rd, const struct prefix *p)
{
	unsigned i = shards_of(t->shards, t->by, p);
	struct dest_id id = {DEST_NONE};

	if (t->at[i] != NULL)
		id = dest_find_rd(t->at[i], rd, p);

	if (id.v != DEST_NONE)
		id.v = shards_id(t->shards, i, id.v);
	return id;
}

struct dest_id
shards_longest(const struct shards_table *t, const struct ip_addr *a, struct dest_view *out)
{
	unsigned i = t->shards->count > 1 ? addr_shard(t->shards, t->by, a->afi, a->b) : 0;
	struct dest_id id = {DEST_NONE};

	if (t->at[i] != NULL)
		id = dest_longest(t->at[i], a, out);
	if (id.v == DEST_NONE && i != 0 && t->at[0] != NULL) {
		i = 0; /* prefixes shorter than a range */
		id = dest_longest(t->at[i], a, out);
	}
	if (id.v != DEST_NONE)
		id.v = shards_id(t->shards, i, id.v);
	return id;
}

size_t
shards_peer_memory(const struct shards *s, struct peer_id id)
{
	size_t sum = 0;

	for (unsigned i = 0; i < s->count; i++)
		sum += shard_peer_memory(s->at[i], id);
	return sum;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void
shards_peer_counts(const struct shards *s, struct peer_id id, enum family family,
	struct adj_rib_in_counts *out)
{
	shard_peer_counts(s->at[0], id, family, out);
	for (unsigned i = 1; i < s->count; i++) {
		struct adj_rib_in_counts c;

		shard_peer_counts(s->at[i], id, family, &c);
		out->received += c.received;
		out->accepted += c.accepted;
		out->rejected_total += c.rejected_total;
		out->blackholed_total += c.blackholed_total;
		out->stale_swept += c.stale_swept;
		out->counted += c.counted;
		out->kept += c.kept;
		out->borr_received = least(out->borr_received, c.borr_received);
		out->eorr_received = least(out->eorr_received, c.eorr_received);
		out->eorr_ignored = least(out->eorr_ignored, c.eorr_ignored);
		out->borr_ignored = least(out->borr_ignored, c.borr_ignored);
		out->replays_done = least(out->replays_done, c.replays_done);
	}
}

static void
records_done(const struct shards *s, unsigned input, uint64_t done[SHARDS_MAX])
{
	for (unsigned i = 0; i < s->count; i++)
		done[i] = shard_records_done(s->at[i], input);
}

bool
shards_peer_counted(const struct shards *s, unsigned input, struct peer_id id, enum family family,
	uint64_t *out)
{
	for (unsigned i = 0; i < COUNTED_READS; i++) {
		uint64_t before[SHARDS_MAX], after[SHARDS_MAX];
		struct adj_rib_in_counts c;

		records_done(s, input, before);
		shards_peer_counts(s, id, family, &c);
		records_done(s, input, after);
		*out = c.counted;
		if (s->count == 1 || memcmp(before, after, s->count * sizeof(before[0])) == 0)
			return true;
	}
	return false;
}

bool
shards_peer_refused(
	const struct shards *s, struct peer_id id, enum family family, uint64_t out[REFUSED_CAUSES])
{
	bool any = shard_peer_refused(s->at[0], id, family, out);
	uint64_t one[REFUSED_CAUSES];

	for (unsigned i = 1; i < s->count; i++) {
		any |= shard_peer_refused(s->at[i], id, family, one);
		for (unsigned c = 0; c < REFUSED_CAUSES; c++)
			out[c] += one[c];
	}
	return any;
}

uint64_t
shards_ailing(const struct shards *s, enum family family, unsigned word)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < s->count; i++)
		bits |= shard_ailing(s->at[i], family, word);
	return bits;
}
