/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prefixes that collide in a table of destinations under the fixed test key (lpm/base/hash.c): an attack
 * on a keeld that did not draw its own key. usage: hash_flood COUNT Prints COUNT IPv4 addresses of
 * host routes, one per line; all belong to one 128th of an index of 2^14 slots.
 */
#include "lpm/base/prefix.h"

#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

	for (uint32_t address = 0x14000000; count > 0; address++) {
		struct prefix p = prefix_from_v4(address, 32);
		char text[PREFIX_TEXT_MAX];

		if ((prefix_hash(&p) & 0x3f80) != 0)
			continue;
		puts(prefix_format(&p, text));
		count--;
	}
	return 0;
}
