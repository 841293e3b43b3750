/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ordered map from prefix to path list: the complete routes of a table. Painting, rebuild and
 * audit read only the shadow. Also used for smaller sets ordered by prefix: the open batch, /24s
 * waiting for a group.
 *
 * A B+tree with packed entries in its leaves. An IPv4 entry is a 64-bit word {address, length,
 * flags, list}; a prefix takes 8 bytes in full leaves, 16 in half-full leaves, and always less
 * than 24. An IPv6 entry takes 20 bytes in three arrays of the leaf; a prefix takes 21 bytes after
 * loading in order, 30 after loading at random. Entries are ordered by address, then length, as
 * the painter requires: a covering prefix comes before the prefixes inside.
 *
 * All functions belong to the owner's thread. An insertion or removal invalidates cursors; a
 * replacement does not.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

struct arena;
struct shadow;

struct shadow_entry {
	struct prefix prefix;
	struct path_list_id list;
	bool waiting; /* without groups: not painted */
};

struct shadow_cursor {
	const void *leaf;
	unsigned at;
	bool wide; /* IPv6 */
};

/* Creates a shadow for one family. Returns 0, -ENOMEM or -EAFNOSUPPORT. */
int shadow_create(struct arena *a, enum afi afi, struct shadow **out);
void shadow_destroy(struct shadow *s);

/*
 * Inserts or replaces an entry. Replacing cannot fail. `list` is below 65,536. Returns 0, or
 * -ENOMEM (nothing changed).
 */
int shadow_set(struct shadow *s, const struct prefix *p, struct path_list_id list, bool waiting);
/*
 * Inserts an entry unless the prefix has one already; *added tells whether an entry was inserted.
 * Returns 0, or -ENOMEM (nothing changed).
 */
int shadow_add(struct shadow *s, const struct prefix *p, struct path_list_id list, bool *added);
/* Returns 0 or -ENOENT. Needs no memory. */
int shadow_remove(struct shadow *s, const struct prefix *p);
void shadow_clear(struct shadow *s);

bool shadow_get(const struct shadow *s, const struct prefix *p, struct shadow_entry *out);
/* Longest entry that covers `addr`, up to `max_len` bits; 0/0 included. */
bool shadow_cover(const struct shadow *s, const struct ip_addr *addr, uint8_t max_len,
	struct shadow_entry *out);

/*
 * Moves the cursor to the first entry at or after (address, length) of `p`; NULL: to the first
 * entry.
 */
void shadow_seek(const struct shadow *s, const struct prefix *p, struct shadow_cursor *c);
/* Reads the entry at the cursor and moves on. Returns false at the end. */
bool shadow_next(struct shadow_cursor *c, struct shadow_entry *out);

/* Prefetches the leaves of at most SHADOW_SEEKS prefixes. */
#define SHADOW_SEEKS 8
void shadow_prefetch(const struct shadow *s, const struct prefix *p, unsigned n);

uint64_t shadow_count(const struct shadow *s);
size_t shadow_bytes(const struct shadow *s);

/*
 * Packed IPv4 entries, for the painter: address in bits 63..32, length 31..24, waiting 23, list
 * 15..0. Returns the number of words left in the cursor's leaf and moves the cursor to the next
 * leaf. 0 at the end.
 */
unsigned shadow_v4_run(struct shadow_cursor *c, const uint64_t **words);
/*
 * The entry at the cursor, without moving on; afterwards the entry is number `at` of the cursor's
 * leaf. NULL at the end.
 */
const uint64_t *shadow_v4_peek(struct shadow_cursor *c);
/*
 * shadow_seek() and shadow_cover() with plain arguments. `len` may be 33: after all prefixes of
 * this address. shadow_v4_cover() returns the packed entry, or sets *found to false.
 */
void shadow_v4_seek(const struct shadow *s, uint32_t addr, uint8_t len, struct shadow_cursor *c);
uint64_t shadow_v4_cover(const struct shadow *s, uint32_t addr, uint8_t max_len, bool *found);
/*
 * At most SHADOW_SEEKS seeks in two steps, so their cache misses overlap. `key` is packed, without
 * flags and list. The shadow must not change between the steps.
 */
void shadow_v4_seek_begin(
	const struct shadow *s, unsigned n, const uint64_t *key, struct shadow_cursor *c);
void shadow_v4_seek_end(uint64_t key, struct shadow_cursor *c);

/*
 * Packed IPv6 entries: entry i of a run has the address hi[i] (first 64 bits as a number), lo[i],
 * and word[i]: length in bits 31..24, waiting 23, list 15..0. shadow_v6_run() moves the cursor
 * past the run and returns false at the end.
 */
struct shadow_v6_run {
	const uint64_t *hi, *lo;
	const uint32_t *word;
	unsigned count;
};

bool shadow_v6_run(struct shadow_cursor *c, struct shadow_v6_run *out);
bool shadow_v6_next(struct shadow_cursor *c, struct shadow_entry *out);
/* shadow_seek() and shadow_cover() with the 16 bytes of an address. `len` may be 129. */
void shadow_v6_seek(
	const struct shadow *s, const uint8_t *addr, uint8_t len, struct shadow_cursor *c);
bool shadow_v6_cover(
	const struct shadow *s, const uint8_t *addr, uint8_t max_len, struct shadow_entry *out);

#define SHADOW_V6_WAITING (1u << 23)
#define SHADOW_V4_WAITING (1ull << 23)

/* A packed entry without flags and list. */
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
