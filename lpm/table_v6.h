/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy of an IPv6 table, in a layout of Keel: 2^24 slots for the first 24 bits, then groups of
 * 256 slots for each further 8 bits, down to /128. A slot is a 32-bit word:
 *
 *   31      set: refers to a group, clear: an answer
 *   30..24  length of the matched prefix minus 1 (0 for a group)
 *   23..0   path list, or group number; the word 0 means "no answer"
 *
 * Slots and groups are one array of words. Group g starts at word g * 256; the numbers below
 * 65,536 are the first level. A single base and shift therefore serve all levels, and the shift
 * also drops bit 31. Answers are pushed down: the last word read is the complete answer.
 *
 * Painting writes the content of the shadow: each slot in the range gets its final value with one
 * store, whatever it held before. Painting is therefore repeatable and independent of the order of
 * changes. A group exists if and only if the shadow has a longer prefix below its slot; the caller
 * has reserved groups for all entries that do not wait. Not painted: ::/0 (kept as `miss` in the
 * generation) and `waiting` entries.
 *
 * Writer: the fib thread, on a copy without readers. Readers: table_v6_lookup_bulk() and
 * table_v6_read(), on the words. The lookup is inline because calls would take most of the time.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct shadow;
struct table_v6;

#define TABLE_V6_FIRST_GROUP (1u << 16)
#define TABLE_V6_GROUPS_MAX ((1u << 24) - TABLE_V6_FIRST_GROUP)
#define TABLE_V6_GROUP (1u << 31)
#define TABLE_V6_VALUE ((1u << 24) - 1)
#define TABLE_V6_BURST 128
#define TABLE_V6_STEPS 3 /* of one byte each, from /24 to /48 */

/* Mapped size of one copy: the first level and `groups` groups, in whole huge pages. */
size_t table_v6_bytes(uint32_t groups);

/*
 * Creates an empty table. `huge`: use MAP_HUGETLB, else transparent huge pages, else normal pages.
 * Returns 0 or -ENOMEM.
 */
int table_v6_create(struct arena *a, uint32_t groups, bool huge, struct table_v6 **out);
void table_v6_destroy(struct table_v6 *t);

/* The array of words for readers. */
const uint32_t *table_v6_words(const struct table_v6 *t);

/*
 * Number of groups needed by `p` and by no other entry that is painted. Does not depend on whether
 * the shadow contains `p`. At most 13.
 */
unsigned table_v6_need(const struct shadow *s, const struct prefix *p);
/*
 * Prefix of a group on the path to `p`: `out` 1 is the innermost group, 2 the next outer group,
 * and so on. The result is a /24, /32, ... or /120.
 */
struct prefix table_v6_group(const struct prefix *p, unsigned out);

/*
 * Frees the groups on the path to `p` that the shadow does not need any more. Paint `p`
 * afterwards. Called for a whole batch before its first painting, so every reserved group is
 * available.
 */
void table_v6_release(struct table_v6 *t, const struct shadow *s, const struct prefix *p);

/* Paints the whole range of `p`. Returns the number of changed slots. */
uint64_t table_v6_paint(struct table_v6 *t, const struct shadow *s, const struct prefix *p);

/* Paints the whole table without regard to its content. */
uint64_t table_v6_rebuild(struct table_v6 *t, const struct shadow *s);

/*
 * Looks up `addr` and reads the length in the entry. Returns false without a route (::/0 then
 * decides). Any reader.
 */
bool table_v6_read(
	const uint32_t *words, const uint8_t *addr, struct path_list_id *list, uint8_t *len);

/* Slot of the first level. */
static inline uint32_t
table_v6_index(const uint8_t *addr)
{
	uint32_t front;

	__builtin_memcpy(&front, addr, sizeof(front));
	return __builtin_bswap32(front) >> 8;
}

/* Next slot of a lookup: in the group if `word` refers to a group, else `at` again. */
static inline uint32_t
table_v6_step(uint32_t at, uint32_t word, uint8_t byte)
{
	uint32_t below = word << 8 | byte, goes_on = -(word >> 31);

	/*
	 * branch-free: prefixes end on any of four levels, so a branch would often be mispredicted
	 */
	return at ^ ((at ^ below) & goes_on);
}

/*
 * First-level slots of eight addresses, and the next four bytes of each, the first of them in the
 * lowest byte.
 */
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

/* table_v6_step() for slot[0..8), and a prefetch for the step after. */
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
 * Looks up at most TABLE_V6_BURST addresses in wire order down to /48, where most prefixes of the
 * Internet end, in TABLE_V6_STEPS calls. The first call fills slot[] and rest[]; after the last
 * call the caller reads the words at slot[0..n).
 *
 * The lookup goes level by level for all addresses: loads of one level are independent, and each
 * prefetch is issued as soon as its slot is known, so cache misses overlap. A caller with work
 * between two calls waits for no miss: a worker that receives and classifies the next burst in
 * between, and reads the answers 32 at a time, forwards 61 instead of 45 million packets a second
 * (random addresses of the real table).
 *
 * Measured alternatives, in million lookups a second: bursts of 64 without prefetch 48 instead of
 * 85; only unfinished addresses kept at each level 80 instead of 85, and 180 instead of 260 for
 * 4,096 hot addresses. Finished addresses therefore read their answer again. Eight addresses at a
 * time give 3 % more packets than single addresses; a prefetch into L2, which packets do not
 * evict, 2 to 4 % more than into L1. Compressing groups with few runs into a cache line would not
 * pay: half of all accesses to groups are to groups with more than 30 runs.
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

/* True if the lookup continues below this word; table_v6_lookup_deep() is then required. */
static inline bool
table_v6_goes_on(uint32_t word)
{
	return word >> 31 != 0;
}

/*
 * Continues lookups below /48, level by level, with only the unfinished addresses. Afterwards the
 * word at each slot is an answer. The levels end with the address, whatever the words are.
 */
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
	for (unsigned byte = 6; count > 0 && byte < 16; byte++) {
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

/* Path list id of an answer; `miss` if no prefix matches. */
static inline uint32_t
table_v6_answer(uint32_t word, uint32_t miss)
{
	return word != 0 ? word & TABLE_V6_VALUE : miss;
}

/*
 * Looks up any number of addresses. Always inlined, so a HOT caller compiles the lookup for its
 * CPU level.
 */
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
