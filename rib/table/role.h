/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Roles of the two ends of an external session, and the attribute Only to Customer (OTC) that
 * keeps a route from leaking from a provider or peer to another provider or peer (RFC 9234).
 *
 * Works on its arguments only; any thread.
 */
#pragma once

#include "rib/table/attr.h"

/* The role of this router on the session. The value of the Role capability is one less (RFC 9234 4.1). */
enum session_role {
	ROLE_NONE, /* not configured, or not announced */
	ROLE_PROVIDER,
	ROLE_RS, /* route server */
	ROLE_RS_CLIENT,
	ROLE_CUSTOMER,
	ROLE_PEER,
	ROLE_COUNT
};

/* "provider", "rs-server", "rs-client", "customer", "peer", or "none". Static text. */
const char *role_text(enum session_role role);

/* True if the two ends may have these roles (RFC 9234 4.2). */
bool role_pair_valid(enum session_role ours, enum session_role theirs);

/*
 * The procedures for a received route (RFC 9234 5): adds OTC with `peer_as` where the peer is our
 * provider, peer or route server. False: the route leaked, and must not be used.
 */
bool role_receive(enum session_role ours, uint32_t peer_as, struct attr_set *a);

/* True if a route with OTC must not be advertised on the session (RFC 9234 5). */
bool role_forbids_otc(enum session_role ours);
/* True if a route without OTC is advertised with OTC, of our AS number (RFC 9234 5). */
bool role_adds_otc(enum session_role ours);
