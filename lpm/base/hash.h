/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyed hashes for tables whose keys come from outside: prefixes, attribute sets, next hops, and
 * ids derived from those. keeld draws a secret key at start, so an attacker cannot compute
 * colliding keys in advance. Reasons and figures: docs/decisions/0007-keyed-hashes.md.
 *
 * Main writes the key once, before the first table and the second thread exist; afterwards any
 * thread reads the key. Without hash_key_set() a fixed key makes tests and benchmarks
 * reproducible. The whole process uses one key because hashes cross rooms: a session thread
 * computes the hash by which a shard finds an attribute set.
 */
#pragma once

#include "lpm/base/base.h"

#include <stdatomic.h>

__extension__ typedef unsigned __int128 hash_u128;

#define HASH_HEAD 256 /* bytes; most attribute sets are shorter */

struct hash_key {
	hash_u128 factor[3], offset; /* hash_words(), first step */
	hash_u128 last_factor, last_offset; /* hash_words(), second step */
	uint64_t head[HASH_HEAD / 8], sip[2]; /* hash_bytes() */
};
static_assert(sizeof(struct hash_key) == 112 + HASH_HEAD, "no padding: drawn as bytes");

extern struct hash_key hash_key; /* for the functions below only */

/* Draws a key from the kernel. 0, -errno. */
int hash_key_draw(struct hash_key *out);
/*
 * Must be called before the first table is created: entries hashed under an old key are not found
 * any more.
 */
void hash_key_set(const struct hash_key *key);

/*
 * Hash of three words. Two steps compute (factor * x + offset) modulo 2^128 and keep the high 64 bits. Each step is strongly
 * universal (Dietzfelbinger 1996; Thorup 2015, "High speed hashing for integers and strings", 3.3): over the choice of the key, two
 * different inputs agree in k given bits with probability 2^-k (plus 2^-64 for the first step). The shift between the steps is a
 * bijection that breaks up arithmetic progressions.
 */
static inline uint64_t
hash_finish(hash_u128 sum)
{
	uint64_t x = (uint64_t)(sum >> 64);

	x ^= x >> 32;
	return (uint64_t)((hash_key.last_factor * x + hash_key.last_offset) >> 64);
}

static inline uint64_t
hash_words(uint64_t a, uint64_t b, uint64_t c)
{
	return hash_finish(hash_key.factor[0] * a + hash_key.factor[1] * b +
			   hash_key.factor[2] * c + hash_key.offset);
}

/* Equals hash_words(x, 0, 0), but is faster. */
static inline uint64_t
hash_word(uint64_t x)
{
	return hash_finish(hash_key.factor[0] * x + hash_key.offset);
}

/*
 * Hash of `size` bytes. NH (Black, Halevi, Krawczyk, Krovetz, Rogaway 1999, "UMAC") of the first HASH_HEAD bytes, and SipHash-1-3
 * (Aumasson, Bernstein 2012) of the rest, or the size, go into hash_words(). Two different inputs agree in NH with probability 2^-64.
 */
uint64_t hash_bytes(const void *bytes, size_t size);

/*
 * Statistics of the searches in one table: the number of entries passed before each search ended.
 * Writer: the table's owner; readers: any thread. With a random hash, fewer than one in 10^8
 * tables of a million entries, filled to 3/4, has a search longer than HASH_PROBE_BOUND. A longer
 * search means an attacker knows the key, or the index could not grow for lack of memory.
 */
struct hash_probes {
	_Atomic uint64_t steps; /* sum over all searches */
	_Atomic uint32_t longest;
};
#define HASH_PROBE_BOUND 1024u

static inline void
hash_probes_add(struct hash_probes *p, uint32_t steps)
{
	uint64_t all = atomic_load_explicit(&p->steps, memory_order_relaxed);

	atomic_store_explicit(&p->steps, all + steps, memory_order_relaxed);
	if (steps > atomic_load_explicit(&p->longest, memory_order_relaxed))
		atomic_store_explicit(&p->longest, steps, memory_order_relaxed);
}

static inline uint32_t
hash_probes_longest(const struct hash_probes *p)
{
	return atomic_load_explicit(&p->longest, memory_order_relaxed);
}
