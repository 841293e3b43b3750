/* SPDX-License-Identifier: BSD-3-Clause */
/* Soft resets by command (keel-rpc(7), bgp.refresh) and the selection of peers. Main only. */
#pragma once

#include "control/apply/apply.h"

enum apply_scope { SCOPE_ALL, SCOPE_PEER, SCOPE_GROUP, SCOPE_INTERNAL, SCOPE_EXTERNAL, SCOPE_ASN };
struct apply_selector {
	enum apply_scope scope;
	enum family family;
	struct vrf_id vrf;
	struct ip_addr peer;
	const char *group;
	uint32_t asn;
};
/*
 * Selects the matching peers with the family configured. Writes up to `max` ids to `out`; returns
 * the number of matching peers.
 */
unsigned apply_select(const struct apply *apply, const struct apply_selector *s,
	struct peer_id *out, unsigned max) RUNS_ON(role_main);
/*
 * Refreshes the matching peers. *peers: an array for the answer; *job: 0 when no refresh runs.
 * -ENOENT: no peer matches; -ENOMEM.
 */
int apply_refresh(struct apply *apply, const struct apply_selector *s, bool import, json_t **peers,
	uint32_t *job) RUNS_ON(role_main);
