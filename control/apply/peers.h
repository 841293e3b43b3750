/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of the running configuration, the dynamic peers, and the ids of both on the other
 * threads. A peer keeps the id over commits. The id of a removed peer is free when the shards have
 * flushed the routes of the peer.
 *
 * Writer: main, in control/apply/ alone.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/dest.h"

struct config_peer;
struct peers;

/* The id of a peer. .v == 0: none. */
struct peer_id peers_id(const struct peers *p, const struct config_peer *c) RUNS_ON(role_main);
/* The configuration of a peer. NULL: the id belongs to no peer. */
const struct config_peer *peers_config(const struct peers *p, struct peer_id id) RUNS_ON(role_main);
/*
 * Iterates: configured peers in the order of the document, then dynamic peers. Begin with .v == 0;
 * .v == 0 behind the last.
 */
struct peer_id peers_next(const struct peers *p, struct peer_id after) RUNS_ON(role_main);
/* The configured or dynamic peer with the address. NULL: none. */
const struct config_peer *peers_find(
	const struct peers *p, struct vrf_id vrf, const struct ip_addr *addr) RUNS_ON(role_main);
/*
 * The address of the peer that had the id at a monotonic time, also of a removed peer; of the last
 * 4,096 removed peers. False: no such peer.
 */
bool peers_address(const struct peers *p, struct peer_id id, uint64_t time_ns, struct ip_addr *out)
	RUNS_ON(role_main);
