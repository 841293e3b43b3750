/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A full table for tests and benchmarks: generated (deterministic, lengths and attributes distributed like
 * today's Internet) or read from a TABLE_DUMP_V2 dump (RFC 6396). One thread.
 *
 * The generator follows public statistics of the tables in 2026: IPv4 /24 63.5 %, /23 10.8, /22 10.5, ... ; IPv6 /48 46 %,
 * /32 12, /44 10, /40 9, ... in 2000::/3; some six prefixes an attribute set; path lengths 3 and 4 most often; 88 % with communities, 30 % with MED.
 */
#pragma once

#include "lpm/base/prefix.h"
#include "rib/table/attr.h"

#include <stdio.h>

struct table_entry {
	struct prefix prefix;
	uint32_t set; /* index into sets */
};

struct table {
	struct table_entry *entry;
	uint32_t entry_count, entry_size;
	struct attr_set **sets; /* without next hop and LOCAL_PREF */
	uint32_t set_count, set_size;
};

/* `count` prefixes of one family. Equal count and seed give an equal table. 0, -ENOMEM. */
int table_generate(struct table *t, enum afi afi, uint32_t count, uint64_t seed);
/* What makes the table of one peer differ from the generated table. Zero: as generated. */
struct table_own {
	uint64_t seed;
	uint32_t per_set; /* neighbours that share an attribute set */
	uint32_t hops, communities; /* of each set, at most TABLE_OWN_MAX */
	uint32_t first_asn; /* of each path: the AS of an external peer (RFC 4271 6.3) */
	bool shuffle; /* prefixes in an order drawn by `seed` */
};
#define TABLE_OWN_MAX 100
/* New order and new attributes for all prefixes. 0, -ENOMEM. */
int table_own(struct table *t, const struct table_own *own);
/* Unicast entries of the first peer of a dump; `path` may end in .gz. `limit` 0: all. 0, -errno. */
int table_read_mrt(struct table *t, enum afi afi, const char *path, uint32_t limit);
void table_free(struct table *t);
/* Lines `PREFIX ORIGIN_ASN`, in table order. 0, -errno. */
int table_list(const struct table *t, const char *path);
/* Opens an MRT file, through gzip if the name ends in .gz (`piped`: close with pclose). NULL: errno. */
FILE *table_open(const char *path, bool *piped);
