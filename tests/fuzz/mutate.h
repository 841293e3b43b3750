/* SPDX-License-Identifier: BSD-3-Clause */
/* Seeded mutations of an input, for the replay of the corpus and the mutated vectors. */
#pragma once

#include "tests/lpm/rng.h"

#include <stdint.h>
#include <string.h>

/*
 * Makes one change in place: a bit, an octet, a boundary value, or a span removed, doubled or
 * moved. Returns the new length, at most `size`.
 */
static inline size_t
mutate(uint8_t *p, size_t len, size_t size, uint64_t *s)
{
	static const uint8_t borders[] = {
		0, 1, 2, 4, 7, 14, 15, 23, 32, 33, 64, 127, 128, 129, 254, 255};
	size_t at, n;

	if (len == 0)
		return 0;
	at = splitmix64(s) % len;
	n = 1 + splitmix64(s) % 16;
	if (n > len - at)
		n = len - at;
	switch (splitmix64(s) % 6) {
	case 0:
		p[at] ^= (uint8_t)(1u << splitmix64(s) % 8);
		return len;
	case 1:
		p[at] = (uint8_t)splitmix64(s);
		return len;
	case 2:
		p[at] = borders[splitmix64(s) % sizeof(borders)];
		return len;
	case 3:
		memmove(p + at, p + at + n, len - at - n);
		return len - n;
	case 4:
		if (len + n > size)
			return len;
		memmove(p + at + n, p + at, len - at);
		return len + n;
	default:
		memmove(p + splitmix64(s) % (len - n + 1), p + at, n);
		return len;
	}
}
