/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of a table dump: TABLE_DUMP_V2 of RFC 6396 4.3, and RFC 8050 4 for routes with path identifiers. Pure functions
 * over a buffer; a record without room is `bad` until mrt_end(), which returns 0.
 */
#pragma once

#include "control/bgp/wire.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr.h"

enum { MRT_PEER_INDEX_TABLE = 1, MRT_RIB_IPV4 = 2, MRT_RIB_IPV6 = 4, MRT_ADD_PATH = 6 };

struct mrt_record {
	struct wr w;
	uint8_t *count_at; /* the count of peers or routes; NULL: no room */
	uint16_t count;
};

void mrt_begin_index(
	struct mrt_record *r, uint8_t *buf, size_t size, uint32_t time_s, uint32_t router_id);
void mrt_peer(struct mrt_record *r, uint32_t identifier, const struct ip_addr *a, uint32_t asn);
/* `add_path`: the routes of the prefix have path identifiers. */
void mrt_begin_prefix(struct mrt_record *r, uint8_t *buf, size_t size, uint32_t time_s,
	uint32_t sequence, const struct prefix *p, bool add_path);
struct mrt_route {
	uint16_t peer; /* in the index table */
	uint32_t time_s; /* Unix time of the last change */
	uint32_t path_id;
	const struct attr_set *attrs;
};
/* False: the attributes exceed 65,535 octets; the record is unchanged. */
bool mrt_route(struct mrt_record *r, const struct mrt_route *route, enum family f, bool add_path);
/* The octets of the record; 0: no room. */
size_t mrt_end(struct mrt_record *r);
