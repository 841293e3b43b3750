/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys that collide in an object of jansson 2.14 under a known seed: hashlittle of lookup3
 * (Jenkins 2006) of keys of 12 octets. usage: json_flood COUNT BITS SEED Prints COUNT keys, one per
 * line, with equal low BITS bits of the hash; SEED 0: any keys.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 12

static uint32_t
rotate(uint32_t x, unsigned bits)
{
	return x << bits | x >> (32 - bits);
}

/* The final mixing of lookup3 over three words, for a key of exactly one block. */
static uint32_t
lookup3(const char key[KEY_LEN], uint32_t seed)
{
	uint32_t w[3], start = 0xdeadbeef + KEY_LEN + seed, a, b, c;

	memcpy(w, key, sizeof(w));
	a = start + w[0];
	b = start + w[1];
	c = start + w[2];
	c = (c ^ b) - rotate(b, 14);
	a = (a ^ c) - rotate(c, 11);
	b = (b ^ a) - rotate(a, 25);
	c = (c ^ b) - rotate(b, 16);
	a = (a ^ c) - rotate(c, 4);
	b = (b ^ a) - rotate(a, 14);
	return (c ^ b) - rotate(b, 24);
}

int
main(int argc, char **argv)
{
	static const char digits[] = "0123456789abcdef";
	unsigned long count, bits, seed;

	if (argc != 4) {
		fprintf(stderr, "usage: json_flood COUNT BITS SEED\n");
		return 2;
	}
	count = strtoul(argv[1], NULL, 10);
	bits = strtoul(argv[2], NULL, 10);
	seed = strtoul(argv[3], NULL, 10);
	for (uint64_t i = 0; count > 0; i++) {
		char key[KEY_LEN + 1] = "key_";

		for (unsigned k = 0; k < 8; k++)
			key[4 + k] = digits[i >> (28 - 4 * k) & 15];
		if (seed != 0 && (lookup3(key, (uint32_t)seed) & ((1u << bits) - 1)) != 0)
			continue;
		puts(key);
		count--;
	}
	return 0;
}
