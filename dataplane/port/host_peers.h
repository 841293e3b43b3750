/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of the configured BGP peers, which select the class of a packet for this router
 * (host_class.h). Open addressing over words of VRF and address.
 *
 * Writer: one thread. Readers: workers, without a lock: during a removal a reader may miss a present
 * address for some nanoseconds, and a packet of this peer is then counted in the next class.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <stdatomic.h>
#include <string.h>

#define HOST_PEER_SLOTS 16384u /* four for each peer: short runs of used slots */
#define HOST_PEER_PROBES 64u

struct host_peers {
	_Atomic uint64_t slot[HOST_PEER_SLOTS]; /* 0: free */
};

/* Adds or removes an address. False: no free slot within HOST_PEER_PROBES. */
bool host_peers_set(
	struct host_peers *t, struct vrf_id vrf, const struct ip_addr *addr, bool present);

/*
 * The word of an address, never 0: an IPv4 address with the VRF, a hash of an IPv6 address. The hash
 * has no key: forging the address of a peer is easier than finding an address with the same word,
 * with an equal effect.
 */
static inline uint64_t
host_peer_word(struct vrf_id vrf, enum afi afi, const uint8_t *address)
{
	uint64_t a[2] = {0, 0};

	if (afi == AFI_IPV4) {
		memcpy(a, address, 4);
		return (uint64_t)vrf.v << 33 | a[0] << 1 | 1;
	}
	memcpy(a, address, 16);
	return hash_mix(a[0] + hash_mix(a[1] + vrf.v)) | 1;
}

/*
 * The first slot of a word. A single multiplication, because each packet of a flood pays for the
 * lookup. The shift spreads 4,095 peers at equal distances: the longest search was 27 slots in
 * 88,000 distances.
 */
static inline unsigned
host_peer_slot(uint64_t word)
{
	static_assert(HOST_PEER_SLOTS == 1u << 14, "the 14 most significant bits");
	return (unsigned)((word ^ word >> 16) * 0xd6e8feb86659fd93u >> 50);
}

static inline bool
host_peers_have(const struct host_peers *t, struct vrf_id vrf, enum afi afi, const uint8_t *address)
{
	uint64_t word = host_peer_word(vrf, afi, address);
	unsigned first = host_peer_slot(word);

	for (unsigned i = 0; i < HOST_PEER_PROBES; i++) {
		/* relaxed: single values; see the head of this file */
		uint64_t there = atomic_load_explicit(
			&t->slot[(first + i) % HOST_PEER_SLOTS], memory_order_relaxed);

		if (there == word || there == 0)
			return there == word;
	}
	return false;
}
