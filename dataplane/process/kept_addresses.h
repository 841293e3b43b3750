/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses that keeld has set in keelfwd: addresses of BGP peers, of peers with a session, local
 * addresses, and anycast addresses. They stay while no keeld is connected. After the first publication of the next keeld the addresses that
 * this keeld has not set again are removed.
 *
 * Owner: the thread of keelfwd.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

enum kept_kind {
	KEPT_PEER,
	KEPT_LOCAL,
	KEPT_SESSION,
	KEPT_SESSION_ON_LINK,
	KEPT_ANYCAST, /* its zone is the number of the port */
};

struct kept_addresses;

#define KEPT_MAX 65536u

struct kept_addresses *kept_addresses_create(void); /* NULL: no memory */
void kept_addresses_destroy(struct kept_addresses *k);
/* Notes a change by the present keeld. 0, -ENOMEM, -ENOSPC (KEPT_MAX addresses). */
int kept_addresses_set(struct kept_addresses *k, enum kept_kind kind, struct vrf_id vrf,
	const struct ip_addr *addr, bool present);
/* True if an earlier keeld has set the address, and the present keeld has not changed it. */
bool kept_addresses_had(struct kept_addresses *k, enum kept_kind kind, struct vrf_id vrf,
	const struct ip_addr *addr);
/* A new keeld begins: all addresses are of an earlier keeld. */
void kept_addresses_age(struct kept_addresses *k);
/* Removes the addresses of earlier keelds, and calls `remove` for each. */
void kept_addresses_sweep(struct kept_addresses *k,
	void (*remove)(enum kept_kind kind, struct vrf_id vrf, const struct ip_addr *addr));
