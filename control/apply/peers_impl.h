/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of peers, as the files of control/apply/ change it. Main only. */
#pragma once

#include "control/apply/peers.h"
#include "rib/shard/shard.h"

struct config;

struct peer_slot {
	struct peer_id id;
	const struct config_peer *config; /* running or dynamic; NULL unless `used` */
	struct ip_addr addr; /* while `removing` */
	struct vrf_id vrf; /* while `used` or `removing`, since the start of the peer */
	uint64_t up_ns, lost_ns; /* dynamic: begin and end of its last session; 0: none */
	bool used; /* configured now */
	bool removing; /* removed; the shards still flush the routes of the peer */
};

/* Peers whose ids are free again; a new one replaces the oldest. */
#define PEERS_FORMER 4096u
struct former_peer {
	struct ip_addr addr;
	struct peer_id id;
	uint64_t until_ns;
};

struct peers {
	const struct config *running;
	struct peer_id *of_config; /* running->peers[i] has id of_config[i] */
	struct peer_slot slot[PEER_MAX]; /* index: peer id */
	uint64_t former_count; /* ever */
	struct former_peer former[PEERS_FORMER];
};

/* NULL: out of memory. */
struct peers *peers_create(const struct config *running) RUNS_ON(role_main);
void peers_destroy(struct peers *p) RUNS_ON(role_main);
/* The shards have flushed the routes of the removed peer: the id is free. */
void peers_id_free(struct peers *p, struct peer_id id, uint64_t now_ns) RUNS_ON(role_main);
/* Takes a free id. .v == 0: none is free. */
struct peer_id peers_id_new(struct peers *p) RUNS_ON(role_main);
