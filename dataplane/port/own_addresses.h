/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of this router, never allowed as the source of a received packet (RFC 1122 3.2.1.3, RFC 1812
 * 5.3.8). A filter of octets by hash comes before the exact set, because each packet pays for it: with
 * ten addresses one group of eight packets in fifty is looked up.
 *
 * Writer: the host thread. Readers: workers, without a lock: a reader may miss an address during a
 * change.
 */
#pragma once

#include "dataplane/port/host_peers.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#define OWN_FILTER_BITS 12
#define OWN_FILTER (1u << OWN_FILTER_BITS)

struct own_addresses {
	_Atomic uint8_t filter[2][OWN_FILTER]; /* IPv4, IPv6; not 0: an address has this hash */
	uint16_t count[2][OWN_FILTER];
	struct host_peers set;
};

/* Without addresses: for packets of this router. */
extern const struct own_addresses own_addresses_none;

/* Adds or removes an address; repeating is no error. False: no room. */
bool own_addresses_set(struct own_addresses *o, struct vrf_id vrf, const struct ip_addr *addr,
	bool present) RUNS_ON(role_host);

static inline bool
own_addresses_have(
	const struct own_addresses *o, struct vrf_id vrf, enum afi afi, const uint8_t *address)
{
	return host_peers_have(&o->set, vrf, afi, address);
}

/*
 * Places in the filters, also for vectors: of an IPv4 address as a word in memory order; of the second and the fourth word of
 * an IPv6 address.
 */
#define OWN_PLACE_V4(word) ((word)*0x9e3779b1u >> (32 - OWN_FILTER_BITS))
#define OWN_PLACE_V6(second, fourth)                                                               \
	(((second)*0x9e3779b1u + (fourth)*0x85ebca77u) >> (32 - OWN_FILTER_BITS))
