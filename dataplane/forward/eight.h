/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Eight packets at a time: vectors with one word per packet, and functions that fill them.
 * Data-path safe.
 */
#pragma once

#include "lpm/base/base.h"

#include <rte_mbuf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wpsabi" /* these vectors are only passed to inlined functions */

typedef uint16_t halves8 __attribute__((vector_size(16)));
typedef uint16_t halves16 __attribute__((vector_size(32)));
typedef uint64_t longs2 __attribute__((vector_size(16)));
typedef uint8_t bytes32 __attribute__((vector_size(32)));

/* Loads 16 bytes of a packet. */
static __rte_always_inline longs2
load16(const uint8_t *p)
{
	longs2 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Loads 16 bytes each of two packets. */
static __rte_always_inline words8
load16_of(const uint8_t *one, const uint8_t *other)
{
	return (words8)__builtin_shufflevector(load16(one), load16(other), 0, 1, 2, 3);
}

static __rte_always_inline void
store8(uint32_t *at, words8 v)
{
	memcpy(__builtin_assume_aligned(at, sizeof(v)), &v, sizeof(v));
}

static __rte_always_inline uint32_t
load4(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static __rte_always_inline uint32_t
bits_of(words8 v)
{
	longs4 x = (longs4)v;
	uint64_t all = (x[0] | x[1]) | (x[2] | x[3]);

	return (uint32_t)(all | all >> 32);
}

/* The larger number of each lane. Bit 31 must be clear in all lanes. */
static __rte_always_inline words8
larger(words8 a, words8 b)
{
	words8 which = (words8)((ints8)a > (ints8)b);

	return (a & which) | (b & ~which);
}

static __rte_always_inline uint32_t
largest(words8 v)
{
	uint32_t most = v[0];

	for (unsigned i = 1; i < 8; i++)
		most = v[i] > most ? v[i] : most;
	return most;
}

/* True if any lane is negative. */
static __rte_always_inline bool
any_negative(words8 v)
{
	return bits_of(v) >> 31 != 0;
}

/* Reverses the bytes of each lane. */
static __rte_always_inline words8
swapped(words8 v)
{
	return (words8)__builtin_shufflevector((bytes32)v, (bytes32)v, 3, 2, 1, 0, 7, 6, 5, 4, 11,
		10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16, 23, 22, 21, 20, 27, 26, 25, 24, 31, 30,
		29, 28);
}

/*
 * Four steps of a transposition: rows of four words become columns. low_of() interleaves the first
 * two words of both halves, high_of() the last two.
 */
static __rte_always_inline words8
low_of(words8 a, words8 b)
{
	return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
}

static __rte_always_inline words8
high_of(words8 a, words8 b)
{
	return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
}

static __rte_always_inline words8
low_pairs_of(words8 a, words8 b)
{
	return (words8)__builtin_shufflevector((longs4)a, (longs4)b, 0, 4, 2, 6);
}

static __rte_always_inline words8
high_pairs_of(words8 a, words8 b)
{
	return (words8)__builtin_shufflevector((longs4)a, (longs4)b, 1, 5, 3, 7);
}

static __rte_always_inline uint64_t
load_lengths(const struct rte_mbuf *m)
{
	uint64_t v; /* pkt_len, data_len, vlan_tci */

	memcpy(&v, &m->pkt_len, sizeof(v));
	return v;
}

static_assert(offsetof(struct rte_mbuf, vlan_tci) == offsetof(struct rte_mbuf, pkt_len) + 6,
	"in the word that load_lengths() reads");

/*
 * Reads pkt_len, data_len and vlan_tci of eight buffers. vlan_tci is 0 unless the device removed a
 * VLAN tag.
 */
static __rte_always_inline void
lengths_of(struct rte_mbuf *const *pkt, words8 *present, words8 *linear, words8 *vlan)
{
	words8 second;

	longs4 front = {load_lengths(pkt[0]), load_lengths(pkt[1]), load_lengths(pkt[4]),
		load_lengths(pkt[5])};
	longs4 back = {load_lengths(pkt[2]), load_lengths(pkt[3]), load_lengths(pkt[6]),
		load_lengths(pkt[7])};

	*present = __builtin_shufflevector((words8)front, (words8)back, 0, 2, 8, 10, 4, 6, 12, 14);
	second = __builtin_shufflevector((words8)front, (words8)back, 1, 3, 9, 11, 5, 7, 13, 15);
	*linear = second & 0xffff;
	*vlan = second >> 16;
}
