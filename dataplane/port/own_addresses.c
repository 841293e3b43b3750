/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/own_addresses.h"

#include <string.h>

const struct own_addresses own_addresses_none;

bool
own_addresses_set(
	struct own_addresses *o, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	enum afi afi = (enum afi)addr->afi;
	unsigned family = afi == AFI_IPV6;
	uint32_t word[4], place;

	if (own_addresses_have(o, vrf, afi, addr->b) == present)
		return true;
	if (!host_peers_set(&o->set, vrf, addr, present))
		return false;
	memcpy(word, addr->b, sizeof(word));
	place = family ? OWN_PLACE_V6(word[1], word[3]) : OWN_PLACE_V4(word[0]);
	o->count[family][place] = (uint16_t)(o->count[family][place] + (present ? 1 : -1));
	/* relaxed: a single value */
	atomic_store_explicit(
		&o->filter[family][place], o->count[family][place] > 0, memory_order_relaxed);
	return true;
}
