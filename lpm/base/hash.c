/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/hash.h"

#include "lpm/base/inspect.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define U128(high, low) ((hash_u128)(high) << 64 | (low))

/* Digits of pi: the fixed key for tests and benchmarks. */
alignas(CACHE_LINE) struct hash_key hash_key = {
	.factor = {U128(0x243f6a8885a308d3, 0x13198a2e03707344),
		U128(0xa4093822299f31d0, 0x082efa98ec4e6c89),
		U128(0x452821e638d01377, 0xbe5466cf34e90c6c)},
	.offset = U128(0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917),
	.last_factor = U128(0x9216d5d98979fb1b, 0xd1310ba698dfb5ac),
	.last_offset = U128(0x2ffd72dbd01adfb7, 0xb8e1afed6a267e96),
	.head = {0x801f2e2858efc166, 0x36920d871574e690, 0xa458fea3f4933d7e, 0x0d95748f728eb658,
		0x718bcd5882154aee, 0x7b54a41dc25a59b5, 0x9c30d5392af26013, 0xc5d1b023286085f0,
		0xca417918b8db38ef, 0x8e79dcb0603a180e, 0x6c9e0e8bb01e8a3e, 0xd71577c1bd314b27,
		0x78af2fda55605c60, 0xe65525f3aa55ab94, 0x5748986263e81440, 0x55ca396a2aab10b6,
		0xb4cc5c341141e8ce, 0xa15486af7c72e993, 0xb3ee1411636fbc2a, 0x2ba9c55d741831f6,
		0xce5c3e169b87931e, 0xafd6ba336c24cf5c, 0x7a32538128958677, 0x3b8f48986b4bb9af,
		0xc4bfe81b66282193, 0x61d809ccfb21a991, 0x487cac605dec8032, 0xef845d5de98575b1,
		0xdc262302eb651b88, 0x23893e81d396acc5, 0x0f6d6ff383f44239, 0x2e0b4482a4842004},
	.sip = {0xba7c9045f12c7f99, 0x24a19947b3916cf7},
};

int
hash_key_draw(struct hash_key *out)
{
	uint8_t *at = (uint8_t *)out;

	for (size_t left = sizeof(*out); left > 0;) {
		ssize_t n = getrandom(at, left, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			left -= (size_t)n;
		}
	}
	return 0;
}

void
hash_key_set(const struct hash_key *key)
{
	hash_key = *key;
}

struct sip {
	uint64_t v[4];
};

static uint64_t
rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(struct sip *s)
{
	s->v[0] += s->v[1];
	s->v[1] = rotate(s->v[1], 13) ^ s->v[0];
	s->v[0] = rotate(s->v[0], 32);
	s->v[2] += s->v[3];
	s->v[3] = rotate(s->v[3], 16) ^ s->v[2];
	s->v[0] += s->v[3];
	s->v[3] = rotate(s->v[3], 21) ^ s->v[0];
	s->v[2] += s->v[1];
	s->v[1] = rotate(s->v[1], 17) ^ s->v[2];
	s->v[2] = rotate(s->v[2], 32);
}

static void
sip_word(struct sip *s, uint64_t w)
{
	s->v[3] ^= w;
	sip_round(s);
	s->v[0] ^= w;
}

uint64_t
hash_sip(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	uint64_t last = (uint64_t)size << 56, w;
	struct sip s = {{hash_key.sip[0] ^ 0x736f6d6570736575, hash_key.sip[1] ^ 0x646f72616e646f6d,
		hash_key.sip[0] ^ 0x6c7967656e657261, hash_key.sip[1] ^ 0x7465646279746573}};

	for (; size >= sizeof(w); p += sizeof(w), size -= sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		sip_word(&s, w);
	}
	w = 0;
	memcpy(&w, p, size);
	sip_word(&s, last | w);
	s.v[2] ^= 0xff;
	for (unsigned i = 0; i < 3; i++)
		sip_round(&s);
	return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

static inline hash_u128
head_pair(const uint8_t *p, const uint64_t *key)
{
	uint64_t w[2];

	memcpy(w, p, sizeof(w));
	return (hash_u128)(w[0] + key[0]) * (w[1] + key[1]);
}

uint64_t
hash_bytes(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	const uint64_t *key = hash_key.head;
	uint8_t padded[16] = {0};
	hash_u128 sum = 0;
	size_t left = size < HASH_HEAD ? size : HASH_HEAD;

	for (; left >= 16; left -= 16, p += 16, key += 2)
		sum += head_pair(p, key);
	if (left > 0 && size >= 16) {
		/*
		 * the last 16 bytes may overlap bytes already hashed; the size is hashed too, so
		 * inputs stay distinguishable
		 */
		sum += head_pair(p + left - 16, key);
	} else if (left > 0) {
		memcpy(padded, p, left);
		sum += head_pair(padded, key);
	}
	return hash_words((uint64_t)sum, (uint64_t)(sum >> 64),
		size > HASH_HEAD ? hash_sip(p, size - HASH_HEAD) : size);
}
