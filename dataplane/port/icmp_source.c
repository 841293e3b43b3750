/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/icmp_source.h"

#include <string.h>

static void
source_write(struct icmp_source *s, const struct ip_addr *addr)
{
	uint32_t version = atomic_load_explicit(&s->version, memory_order_relaxed);
	uint64_t half[2];

	memcpy(half, addr->b, sizeof(half));
	atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);
	/*
	 * release: pair with the loads in source_read (icmp.c); a reader of a new value also sees the odd
	 * version
	 */
	atomic_store_explicit(&s->set, addr->afi != AFI_NONE, memory_order_release);
	atomic_store_explicit(&s->half[0], half[0], memory_order_release);
	atomic_store_explicit(&s->half[1], half[1], memory_order_release);
	/* release: pairs with the first load in source_read (icmp.c) */
	atomic_store_explicit(&s->version, version + 2, memory_order_release);
}

void
icmp_source_set(struct icmp_sources *s, uint16_t port, enum afi afi, const struct ip_addr *addr)
{
	if (port < PORTS_MAX && afi != AFI_NONE)
		source_write(&s->port[port][afi == AFI_IPV6], addr);
}
