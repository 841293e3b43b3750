/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shards.h"

#include <string.h>

/* Length of a range. */
#define RANGE_BITS_IPV4 12u
#define RANGE_BITS_IPV6 24u

void
shards_init(struct shards *s, struct shard *const *at, unsigned count)
{
	*s = (struct shards){.count = count};
	for (unsigned i = 0; i < count; i++)
		s->at[i] = at[i];
	while (1u << s->bits < count)
		s->bits++;
}

/*
 * Hashes the first bits of an address. Not keyed: all prefixes of a range are in one shard anyway,
 * so loading one shard needs no collisions, and the damage of an attack is bounded by the load of
 * one shard.
 */
static unsigned
range_shard(const struct shards *s, uint8_t afi, const uint8_t *b)
{
	uint32_t range = afi == AFI_IPV4 ? (uint32_t)b[0] << 4 | b[1] >> 4
					 : (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];

	return (unsigned)((hash_mix((uint64_t)afi << 32 | range) >> 32) * s->count >> 32);
}

bool
shards_wide(const struct prefix *p)
{
	return p->len < (p->afi == AFI_IPV4 ? RANGE_BITS_IPV4 : RANGE_BITS_IPV6);
}

unsigned
shards_of(const struct shards *s, const struct prefix *p)
{
	if (s->count == 1 || shards_wide(p))
		return 0;
	return range_shard(s, p->afi, p->b);
}

#define RANGES_MAX 256u /* most ranges that are checked singly; above, all shards are returned */

uint32_t
shards_under(const struct shards *s, const struct prefix *p)
{
	unsigned bits = p->afi == AFI_IPV4 ? RANGE_BITS_IPV4 : RANGE_BITS_IPV6;
	uint32_t all = (1u << s->count) - 2, under = 0;
	uint32_t first = (uint32_t)p->b[0] << 16 | (uint32_t)p->b[1] << 8 | p->b[2];
	uint32_t ranges = 1u << (bits - p->len), step = 1u << (24 - bits);

	if (ranges > RANGES_MAX)
		return all;
	for (uint32_t i = 0; i < ranges && under != all; i++, first += step) {
		uint8_t b[3] = {(uint8_t)(first >> 16), (uint8_t)(first >> 8), (uint8_t)first};

		under |= 1u << range_shard(s, p->afi, b) & all;
	}
	return under;
}

unsigned
shards_covering(const struct shards *s, const struct ip_addr *a, struct shard *out[2])
{
	unsigned i = s->count > 1 ? range_shard(s, a->afi, a->b) : 0;

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
	for (unsigned i = 0; i < s->count; i++)
		out->at[i] = shard_table(s->at[i], id);
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
	unsigned i = shards_of(t->shards, p);
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
	unsigned i = t->shards->count > 1 ? range_shard(t->shards, a->afi, a->b) : 0;
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
