/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ordered map of prefix -> path list: what should be installed, the only input of painting, rebuild
 * and audit. Also used for what is small and ordered by prefix beside it (the open batch, slots
 * that wait for a group).
 *
 * A B+tree whose leaves hold packed entries: for IPv4 one 64-bit word {address, length, flags,
 * list}, so a prefix costs 8 bytes at best, 16 when leaves are half full, below 24 always; for IPv6
 * 20 bytes in three arrays of its leaf, 21 a prefix loaded in order, 30 when it was at random. Order
 * is by address, then length: a covering prefix comes before what it covers, which is what the
 * painter needs.
 *
 * One thread, its owner's. Cursors end with the next insertion or removal (not with a replacement).
 */
#pragma once

#include "lpm/base.h"
#include "lpm/path_list.h"
#include "lpm/prefix.h"

struct arena;
struct shadow;

struct shadow_entry {
	struct prefix prefix;
	struct path_list_id list;
	bool waiting; /* gets no groups: not painted */
};

struct shadow_cursor {
	const void *leaf;
	unsigned at;
	bool wide; /* IPv6 */
};

/* 0, -ENOMEM, -EAFNOSUPPORT. A shadow is of one family. */
int shadow_create(struct arena *a, enum afi afi, struct shadow **out);
void shadow_destroy(struct shadow *s);

/*
 * Inserts or replaces; a replacement cannot fail. 0; -ENOMEM: nothing was changed. `list` below
 * 65,536.
 */
int shadow_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting);
/* Inserts what is not there, and leaves what is there alone; `added`: which of both. 0; -ENOMEM: nothing was changed. */
int shadow_add(struct shadow *s, const struct prefix *p, struct path_list_id list, bool *added);
/* 0, -ENOENT. Never fails for want of memory. */
int shadow_remove(struct shadow *s, const struct prefix *p);
void shadow_clear(struct shadow *s);

bool shadow_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out);
/* The longest entry of at most `max_len` bits that covers `addr`, 0/0 included. */
bool shadow_cover(const struct shadow *s, const struct ip_addr *addr, uint8_t max_len,
	struct shadow_entry *out);

/* To the first entry that is not before (address, length) of `p`; NULL: to the first of all. */
void shadow_seek(const struct shadow *s, const struct prefix *p, struct shadow_cursor *c);
/* The entry there, and on. False at the end. */
bool shadow_next(struct shadow_cursor *c, struct shadow_entry *out);

/* Up to SHADOW_SEEKS prefixes are looked for soon. */
#define SHADOW_SEEKS 8
void shadow_prefetch(const struct shadow *s, const struct prefix *p, unsigned n);

uint64_t shadow_count(const struct shadow *s);
size_t shadow_bytes(const struct shadow *s);

/*
 * IPv4 as it is packed, for the painter: address in bits 63..32, length 31..24, waiting 23, list
 * 15..0. A run is the rest of the cursor's leaf; the cursor moves past it. 0 at the end.
 */
unsigned shadow_v4_run(struct shadow_cursor *c, const uint64_t **words);
/* The entry there, without moving on; NULL at the end. It is then in the cursor's leaf, at `at`. */
const uint64_t *shadow_v4_peek(struct shadow_cursor *c);
/*
 * As shadow_seek and shadow_cover, without struct prefix; `len` may be 33 (beyond all of that
 * address). 0: none.
 */
void shadow_v4_seek(const struct shadow *s, uint32_t addr, uint8_t len, struct shadow_cursor *c);
uint64_t shadow_v4_cover(const struct shadow *s, uint32_t addr, uint8_t max_len, bool *found);
/*
 * Up to SHADOW_SEEKS seeks in two steps, so that their cache misses go beside each other: `key` is as packed, without flags
 * and list. The shadow does not change from the one to the other.
 */
void shadow_v4_seek_begin(
	const struct shadow *s, unsigned n, const uint64_t *key, struct shadow_cursor *c);
void shadow_v4_seek_end(uint64_t key, struct shadow_cursor *c);

/*
 * IPv6 as it is packed: entry i of a run is address hi[i] (its first 64 bits as a number), lo[i],
 * and word[i]: length in bits 31..24, waiting 23, list 15..0. The cursor moves past the run. False
 * at the end.
 */
struct shadow_v6_run {
	const uint64_t *hi, *lo;
	const uint32_t *word;
	unsigned count;
};

bool shadow_v6_run(struct shadow_cursor *c, struct shadow_v6_run *out);
bool shadow_v6_next(struct shadow_cursor *c, struct shadow_entry *out);
/* As shadow_seek and shadow_cover, by the address's 16 bytes; `len` may be 129. */
void shadow_v6_seek(
	const struct shadow *s, const uint8_t *addr, uint8_t len, struct shadow_cursor *c);
bool shadow_v6_cover(
	const struct shadow *s, const uint8_t *addr, uint8_t max_len, struct shadow_entry *out);

#define SHADOW_V6_WAITING (1u << 23)
#define SHADOW_V4_WAITING (1ull << 23)

/* A word without flags and list. */
static inline uint64_t
shadow_v4_key(uint32_t addr, unsigned len)
{
	return (uint64_t)addr << 32 | (uint64_t)len << 24;
}

static inline uint32_t
shadow_v4_addr(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint8_t
shadow_v4_len(uint64_t word)
{
	return (uint8_t)(word >> 24);
}

static inline uint32_t
shadow_v4_list(uint64_t word)
{
	return (uint32_t)(word & 0xffff);
}

static inline uint32_t
v4_mask(unsigned len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}
