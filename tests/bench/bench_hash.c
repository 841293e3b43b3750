/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hashes of prefixes and attribute sets: the hashes in use (lpm/base/hash.h), the previous hashes, and the candidates of
 * docs/decisions/0007. Prints for each the best of several runs: ns a hash for independent hashes (throughput), and for inputs that
 * depend on the previous hash (latency).
 *
 * usage: bench_hash
 */
#include "lpm/base/hash.h"
#include "lpm/base/inspect.h"
#include "tests/bench/bench.h"

#define RUNS 7
#define COUNT (1u << 20)
#define SETS_BYTES (64u << 10)

static uint8_t sets[SETS_BYTES + 512];
static const uint64_t key[6] = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
	0x082efa98ec4e6c89, 0x452821e638d01377, 0xbe5466cf34e90c6c};

/* ---- before ---- */

static inline uint64_t
old_mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

static uint64_t
old_prefix(uint64_t a, uint64_t b, uint64_t len)
{
	return old_mix(a ^ old_mix(b + len));
}

static inline uint64_t
old_step(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t
old_set(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	uint64_t h[4] = {size, 1, 2, 3}, w;

	for (; size >= 32; size -= 32)
		for (unsigned i = 0; i < 4; i++, p += 8) {
			memcpy(&w, p, 8);
			h[i] = old_step(h[i], w);
		}
	for (; size >= 8; p += 8, size -= 8) {
		memcpy(&w, p, 8);
		h[0] = old_step(h[0], w);
	}
	w = 0;
	memcpy(&w, p, size);
	h[0] = (h[0] ^ w) * 0x9e3779b97f4a7c15u ^ old_mix(h[1]);
	return old_mix(h[0] ^ old_mix(h[2]) << 1 ^ old_mix(h[3]) << 2);
}

/* ---- candidates ---- */

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	hash_u128 product = (hash_u128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
fold_prefix(uint64_t a, uint64_t b, uint64_t len)
{
	return fold(fold(a ^ key[0], key[1]) ^ fold(b ^ key[2], len + key[3]) ^ key[4], key[5]);
}

static uint64_t
fold_set(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	uint64_t a = key[0] ^ size, b = key[1], w[4] = {0};

	for (; size >= 32; size -= 32, p += 32) {
		memcpy(w, p, 32);
		a = fold(w[0] ^ key[2], w[1] ^ a);
		b = fold(w[2] ^ key[3], w[3] ^ b);
	}
	memset(w, 0, sizeof(w));
	memcpy(w, p, size);
	a = fold(w[0] ^ key[2], w[1] ^ a);
	b = fold(w[2] ^ key[3], w[3] ^ b);
	return fold(a ^ key[4], b ^ key[5]);
}

static uint64_t
sip_prefix(uint64_t a, uint64_t b, uint64_t len)
{
	uint64_t w[] = {a, b, len};

	return hash_sip(w, sizeof(w));
}

static uint64_t
sip_prefix_v4(uint64_t a, uint64_t b, uint64_t len)
{
	uint64_t w = a | len << 32;

	(void)b;
	return hash_sip(&w, sizeof(w));
}

static uint64_t
words_prefix(uint64_t a, uint64_t b, uint64_t len)
{
	return hash_words(a, b, len);
}

static uint64_t
words_prefix_v4(uint64_t a, uint64_t b, uint64_t len)
{
	(void)b;
	return hash_word(a | len << 32);
}

/* ---- measuring ---- */

typedef uint64_t prefix_fn(uint64_t a, uint64_t b, uint64_t len);
typedef uint64_t set_fn(const void *bytes, size_t size);

static volatile uint64_t sink;

static uint64_t
now(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Inlined with a constant function, like in the tables. */
static inline __attribute__((always_inline)) void
prefix_bench(const char *name, prefix_fn *fn, bool v6)
{
	uint64_t best[2] = {UINT64_MAX, UINT64_MAX};

	for (unsigned r = 0; r < RUNS; r++) {
		uint64_t all = 0, chain, from = now(), mid, end;

		for (uint64_t i = 0; i < COUNT; i++)
			all ^= fn((uint32_t)(i * 0x9e3779b1u), v6 ? i << 8 : 0, 24);
		mid = now();
		chain = all;
		for (uint64_t i = 0; i < COUNT; i++)
			chain = fn((uint32_t)chain, v6 ? chain : 0, 24);
		end = now();
		sink = chain;
		best[0] = mid - from < best[0] ? mid - from : best[0];
		best[1] = end - mid < best[1] ? end - mid : best[1];
	}
	printf("%-12s %-22s throughput %6.2f ns, latency %6.2f ns\n",
		v6 ? "prefix IPv6" : "prefix IPv4", name, (double)best[0] / COUNT,
		(double)best[1] / COUNT);
}

static inline __attribute__((always_inline)) void
set_bench(const char *name, set_fn *fn, size_t size)
{
	const unsigned count = COUNT / 8;
	uint64_t best[2] = {UINT64_MAX, UINT64_MAX};

	for (unsigned r = 0; r < RUNS; r++) {
		uint64_t all = 0, chain, from = now(), mid, end;

		for (unsigned i = 0; i < count; i++)
			all ^= fn(sets + 8 * i % SETS_BYTES, size);
		mid = now();
		chain = all;
		for (unsigned i = 0; i < count; i++)
			chain = fn(sets + chain % (SETS_BYTES / 8) * 8, size);
		end = now();
		sink = chain;
		best[0] = mid - from < best[0] ? mid - from : best[0];
		best[1] = end - mid < best[1] ? end - mid : best[1];
	}
	printf("set %3zu      %-22s throughput %6.2f ns, latency %6.2f ns\n", size, name,
		(double)best[0] / count, (double)best[1] / count);
}

int
main(void)
{
	static const size_t sizes[] = {100, 132, 160, 204, 400};

	for (size_t i = 0; i < sizeof(sets); i++)
		sets[i] = (uint8_t)(i * 0x9e3779b97f4a7c15u >> 56);
	prefix_bench("before", old_prefix, false);
	prefix_bench("multiplication (used)", words_prefix_v4, false);
	prefix_bench("folded multiplication", fold_prefix, false);
	prefix_bench("SipHash-1-3", sip_prefix_v4, false);
	prefix_bench("before", old_prefix, true);
	prefix_bench("multiplication (used)", words_prefix, true);
	prefix_bench("folded multiplication", fold_prefix, true);
	prefix_bench("SipHash-1-3", sip_prefix, true);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		set_bench("before", old_set, sizes[i]);
		set_bench("NH (used)", hash_bytes, sizes[i]);
		set_bench("SipHash-1-3", hash_sip, sizes[i]);
		set_bench("folded multiplication", fold_set, sizes[i]);
	}
	return 0;
}
