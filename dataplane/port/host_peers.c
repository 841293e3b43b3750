/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/host_peers.h"

/* relaxed in this file: one thread writes, and readers take single values */
static uint64_t
slot_get(const struct host_peers *t, unsigned i)
{
	return atomic_load_explicit(&t->slot[i % HOST_PEER_SLOTS], memory_order_relaxed);
}

static void
slot_set(struct host_peers *t, unsigned i, uint64_t word)
{
	atomic_store_explicit(&t->slot[i % HOST_PEER_SLOTS], word, memory_order_relaxed);
}

/*
 * Frees slot `hole`: moves later words of the run into the hole where their probes still find
 * them.
 */
static void
slot_free(struct host_peers *t, unsigned hole)
{
	unsigned home, first = hole, i = hole + 1;
	uint64_t word;

	/* without a free slot the run has no end */
	for (; i - first < HOST_PEER_SLOTS && (word = slot_get(t, i)) != 0; i++) {
		home = host_peer_slot(word);
		if ((i - home) % HOST_PEER_SLOTS < (i - hole) % HOST_PEER_SLOTS)
			continue;
		slot_set(t, hole, word);
		hole = i;
	}
	slot_set(t, hole, 0);
}

bool
host_peers_set(struct host_peers *t, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	uint64_t word = host_peer_word(vrf, (enum afi)addr->afi, addr->b);
	unsigned first = host_peer_slot(word);

	for (unsigned i = 0; i < HOST_PEER_PROBES; i++) {
		unsigned at = (first + i) % HOST_PEER_SLOTS;
		uint64_t there = slot_get(t, at);

		if (there == word && !present)
			slot_free(t, at);
		else if (there == 0 && present)
			slot_set(t, at, word);
		if (there == word || there == 0)
			return true;
	}
	return !present;
}
