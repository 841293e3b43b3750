/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy of an IPv6 table, of our own layout: 2^24 slots by the first 24 bits, then groups of 256
 * slots by 8 bits each, down to /128. A slot is 32 bits:
 *
 *   31      a group lies below, else an answer
 *   30..24  length of the matched prefix less one (a group: 0)
 *   23..0   path list, or group number; the whole word 0 is "no answer"
 *
 * Slots and groups are one array of words, and group g begins at word g * 256 (the first 65,536
 * numbers are the slots of the first level), so one base and one shift serve each level (the shift
 * also drops the mark). Answers are pushed down: the last word read is the answer, none before it is
 * needed.
 *
 * The writer paints what the shadow says, and only that: each slot of the range gets its final answer
 * with one store, whatever was there, so painting is repeatable and does not depend on the order of
 * the changes. A group is there if and only if the shadow has a longer prefix below its slot; the
 * caller reserved: what is not waiting has its groups. ::/0 is not painted (the generation holds it
 * as miss entry), nor are entries marked `waiting`.
 *
 * Writer: the fib thread, on a copy that no reader has. Readers: table_v6_lookup_bulk and
 * table_v6_read, on the words; small enough to be inlined, and that is most of a lookup.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"

struct arena;
struct shadow;
struct table_v6;

#define TABLE_V6_FIRST_GROUP (1u << 16)
#define TABLE_V6_GROUPS_MAX ((1u << 24) - TABLE_V6_FIRST_GROUP)
#define TABLE_V6_GROUP (1u << 31)
#define TABLE_V6_VALUE ((1u << 24) - 1)
#define TABLE_V6_BURST 128
#define TABLE_V6_STEPS 3 /* by a byte each, from /24 to /48 */

/* Of one copy, mapped: the first level and `groups` groups, in whole huge pages. */
size_t table_v6_bytes(uint32_t groups);

/* Empty. `huge`: MAP_HUGETLB, else transparent huge pages, else small ones. 0, -ENOMEM. */
int table_v6_create(struct arena *a, uint32_t groups, bool huge, struct table_v6 **out);
void table_v6_destroy(struct table_v6 *t);

/* What readers are given. */
const uint32_t *table_v6_words(const struct table_v6 *t);
uint32_t table_v6_groups_used(const struct table_v6 *t);

/*
 * The groups that `p` needs and no other entry of the shadow has that is not waiting; whether `p` is
 * in the shadow itself does not matter. At most 13.
 */
unsigned table_v6_need(const struct shadow *s, const struct prefix *p);
/*
 * Of the groups on the way to `p` the innermost (`out` 1), the one around it and so on, by the prefix
 * that leads there: /24, /32 to /120.
 */
struct prefix table_v6_group(const struct prefix *p, unsigned out);

/*
 * Gives back the groups on the way to `p` that the shadow has no use for (any more); paint `p`
 * afterwards. For a whole batch before the first painting: then what was reserved is there.
 */
void table_v6_release(struct table_v6 *t, const struct shadow *s, const struct prefix *p);

/* Paints what `p` covers, all of it. Returns how many slots changed. */
uint64_t table_v6_paint(struct table_v6 *t, const struct shadow *s, const struct prefix *p);

/* Paints everything, in order, whatever was there. */
uint64_t table_v6_rebuild(struct table_v6 *t, const struct shadow *s);

/* Prefixes that found no group though the caller had reserved: 0, or a bug. */
uint64_t table_v6_short(const struct table_v6 *t);

/* Any reader: the entry that answers for `addr`; false where there is none (then ::/0 decides). */
bool table_v6_read(
	const uint32_t *words, const uint8_t *addr, struct path_list_id *list, uint8_t *len);

/* The slot of the first level. */
static inline uint32_t
table_v6_index(const uint8_t *addr)
{
	uint32_t front;

	__builtin_memcpy(&front, addr, sizeof(front));
	return __builtin_bswap32(front) >> 8;
}

/* Where to look next: below `at` if its word says that a group lies there, else there again. */
static inline uint32_t
table_v6_step(uint32_t at, uint32_t word, uint8_t byte)
{
	uint32_t below = word << 8 | byte, goes_on = -(word >> 31);

	/* no branch: prefixes end at any of four levels, so it would often be taken wrongly */
	return at ^ ((at ^ below) & goes_on);
}

/* Where eight addresses look first, and their next four bytes, the first one lowest. */
static inline __attribute__((always_inline)) void
table_v6_keys8(const uint8_t (*ip)[16], words8 *first, words8 *rest)
{
	uint64_t a[8];

	for (unsigned i = 0; i < 8; i++)
		__builtin_memcpy(&a[i], ip[i], sizeof(a[i]));
	words8 front = (words8)(longs4){a[0], a[1], a[4], a[5]};
	words8 back = (words8)(longs4){a[2], a[3], a[6], a[7]};
	words8 zero = __builtin_shufflevector(front, back, 0, 2, 8, 10, 4, 6, 12, 14);
	words8 one = __builtin_shufflevector(front, back, 1, 3, 9, 11, 5, 7, 13, 15);

	*first = (zero << 16 & 0xff0000) | (zero & 0xff00) | (zero >> 16 & 0xff);
	*rest = zero >> 24 | one << 8;
}

/* table_v6_step() of slot[0..8), with what is fetched for the next one. */
static inline __attribute__((always_inline)) void
table_v6_step8(const uint32_t *words, uint32_t *slot, const words8 *byte)
{
	words8 w = {words[slot[0]], words[slot[1]], words[slot[2]], words[slot[3]], words[slot[4]],
		words[slot[5]], words[slot[6]], words[slot[7]]};
	words8 at, below = w << 8 | *byte, goes_on = (words8)((ints8)w >> 31);

	__builtin_memcpy(&at, slot, sizeof(at));
	at = (below & goes_on) | (at & ~goes_on);
	__builtin_memcpy(slot, &at, sizeof(at));
	for (unsigned i = 0; i < 8; i++)
		__builtin_prefetch(&words[slot[i]], 0, 2);
}

/*
 * At most TABLE_V6_BURST addresses, as on the wire, down to where /48 ends, as most of the Internet does, by TABLE_V6_STEPS calls; the words at
 * slot[0..n) are read by the caller then. The first call fills slot[] and rest[].
 *
 * Level by level: the loads of a level do not depend on each other, and what the next level will read is fetched as soon as it is known, so that
 * the cache misses of all overlap; and who has other things to do between two calls waits for none of them: a worker that receives and
 * classifies the next burst there, and reads the answers 32 at a time, lets 61 instead of 45 million packets a second through (random addresses
 * of the real table). In bursts of 64, without the fetching ahead: 48 instead of 85 million lookups a second; with those packed that go on, at
 * each level: 80, and 180 instead of 260 for 4,096 hot ones. All go along: who has the answer reads it again. Eight at a time: 3 % more packets
 * a second than one by one; fetched into L2, which packets leave alone: 2 to 4 % more than into L1. (One line a group that has few runs would
 * not do: half of all looks at a group are at one with more than 30.)
 */
static inline __attribute__((always_inline)) void
table_v6_lookup_step(const uint32_t *words, const uint8_t (*ip)[16], uint32_t *slot, uint32_t *rest,
	unsigned n, unsigned step)
{
	unsigned eights = n / 8;

	for (unsigned i = 0; i < 8 * eights; i += 8) {
		words8 first, bytes;

		if (step == 0) {
			table_v6_keys8(ip + i, &first, &bytes);
			__builtin_memcpy(slot + i, &first, sizeof(first));
			__builtin_memcpy(rest + i, &bytes, sizeof(bytes));
		}
		__builtin_memcpy(&bytes, rest + i, sizeof(bytes));
		bytes = bytes >> 8 * step & 0xff;
		table_v6_step8(words, slot + i, &bytes);
	}
	for (unsigned i = 8 * eights; i < n; i++) {
		if (step == 0)
			slot[i] = table_v6_index(ip[i]);
		slot[i] = table_v6_step(slot[i], words[slot[i]], ip[i][3 + step]);
	}
}

/* Does it go on there? Then table_v6_lookup_deep() comes first. */
static inline bool
table_v6_goes_on(uint32_t word)
{
	return word >> 31 != 0;
}

/* Below that, for those that go on: level by level, packed those that still do. Then the word at each slot is an answer. */
static inline __attribute__((always_inline)) void
table_v6_lookup_deep(const uint32_t *words, const uint8_t (*ip)[16], uint32_t *slot, unsigned n)
{
	uint8_t at[TABLE_V6_BURST];
	unsigned count = 0;

	static_assert(TABLE_V6_BURST <= UINT8_MAX + 1, "at[] has numbers of addresses");
	for (unsigned i = 0; i < n; i++) {
		at[count] = (uint8_t)i;
		count += table_v6_goes_on(words[slot[i]]);
	}
	for (unsigned byte = 6; count > 0; byte++) {
		unsigned left = 0;

		for (unsigned k = 0; k < count; k++) {
			unsigned i = at[k];
			uint32_t below = words[slot[i]] << 8 | ip[i][byte];

			slot[i] = below;
			at[left] = (uint8_t)i;
			left += table_v6_goes_on(words[below]);
		}
		count = left;
	}
}

/* The path list's id, `miss` where nothing matches. */
static inline uint32_t
table_v6_answer(uint32_t word, uint32_t miss)
{
	return word != 0 ? word & TABLE_V6_VALUE : miss;
}

/* Any number. Always inlined: into a HOT function, it is as that is compiled. */
static inline __attribute__((always_inline)) void
table_v6_lookup_bulk(
	const uint32_t *words, const uint8_t (*ip)[16], uint32_t *out, unsigned n, uint32_t miss)
{
	uint32_t rest[TABLE_V6_BURST];

	for (unsigned count; n > 0; n -= count, ip += count, out += count) {
		count = n < TABLE_V6_BURST ? n : TABLE_V6_BURST;
#pragma GCC unroll 3
		for (unsigned step = 0; step < TABLE_V6_STEPS; step++)
			table_v6_lookup_step(words, ip, out, rest, count, step);
		table_v6_lookup_deep(words, ip, out, count);
		for (unsigned i = 0; i < count; i++)
			out[i] = table_v6_answer(words[out[i]], miss);
	}
}
