/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define U128(high, low) ((hash_u128)(high) << 64 | (low))

/* Digits of pi: the key of tests and benchmarks. */
alignas(CACHE_LINE) struct hash_key hash_key = {
	.factor = {U128(0x243f6a8885a308d3, 0x13198a2e03707344),
		U128(0xa4093822299f31d0, 0x082efa98ec4e6c89),
		U128(0x452821e638d01377, 0xbe5466cf34e90c6c)},
	.offset = U128(0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917),
	.last_factor = U128(0x9216d5d98979fb1b, 0xd1310ba698dfb5ac),
	.last_offset = U128(0x2ffd72dbd01adfb7, 0xb8e1afed6a267e96),
	.sip = {0xba7c9045f12c7f99, 0x24a19947b3916cf7},
};

int
hash_key_draw(struct hash_key *out)
{
	ssize_t n;

	/* getrandom() fills up to 256 bytes at once when the kernel's pool is ready; a signal may interrupt the wait before. */
	do
		n = getrandom(out, sizeof(*out), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == sizeof(*out) ? 0 : -EIO;
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
hash_bytes(const void *bytes, size_t size)
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
