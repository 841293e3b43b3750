/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Destinations for a lab port (lab_port.h), drawn inside routes. A destination has the class of
 * its longest prefix.
 */
#pragma once

#include "lpm/shadow.h"
#include "tests/dataplane/lab_port.h"
#include "tests/lpm/rng.h"

#include <string.h>

/* The class is stored in the shadow as list, plus 1, because list 0 means none. */
#define LAB_LIST(class) ((struct path_list_id){(uint32_t)(class) + 1})

static inline struct ip_addr
lab_within(const struct prefix *p, uint64_t *seed)
{
	struct ip_addr a = {.afi = p->afi};

	for (unsigned i = 0; i < prefix_max_len(p->afi) / 8; i++) {
		unsigned fixed = p->len > i * 8 ? p->len - i * 8 : 0;
		uint8_t host = fixed >= 8 ? 0 : (uint8_t)(0xff >> fixed);

		a.b[i] = (uint8_t)((p->b[i] & ~host) | (splitmix64(seed) & host));
	}
	return a;
}

/* Draws all flows of one family from `prefix[0..count)`, which are in `routes`. */
static inline void
lab_flows_draw(struct lab_shared *s, enum afi afi, const struct shadow *routes,
	const struct prefix *prefix, size_t count, uint64_t seed)
{
	struct lab_flow_v4 *v4 = (struct lab_flow_v4 *)(uintptr_t)lab_flows_v4(s);
	struct lab_flow_v6 *v6 = (struct lab_flow_v6 *)(uintptr_t)lab_flows_v6(s);
	uint64_t flows = afi == AFI_IPV4 ? s->v4_count : s->v6_count;

	for (uint64_t i = 0; i < flows; i++) {
		const struct prefix *p = &prefix[(splitmix64(&seed) >> 32) * count >> 32];
		struct ip_addr a = lab_within(p, &seed);
		struct shadow_entry best = {.list = LAB_LIST(0)};
		uint32_t label = (uint32_t)splitmix64(&seed) & 0x000fffff;

		(void)shadow_cover(routes, &a, (uint8_t)prefix_max_len(afi), &best);
		if (afi == AFI_IPV4) {
			memcpy(&v4[i].dst, a.b, sizeof(v4[i].dst));
			v4[i].class = (uint8_t)(best.list.v - 1);
		} else {
			memcpy(v6[i].dst, a.b, sizeof(v6[i].dst));
			v6[i].label = __builtin_bswap32(0x60000000 | label);
			v6[i].class = (uint8_t)(best.list.v - 1);
		}
	}
}
