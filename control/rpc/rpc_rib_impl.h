/* SPDX-License-Identifier: BSD-3-Clause */
/* A query of one table, shared by rpc_rib.c (rib.routes, rib.lookup) and rpc_fate.c (rib.fate). Main only. */
#pragma once

#include "control/rpc/rpc_impl.h"

#include "lpm/base/prefix.h"
#include "rib/shard/refused.h"
#include "rib/shard/shards.h"
#include "rib/table/vpn.h"

enum view {
	VIEW_ADJ_IN_PRE,
	VIEW_ADJ_IN,
	VIEW_LOC,
	VIEW_ADJ_OUT,
	VIEW_FATE, /* as VIEW_LOC, and kept paths that import policy refuses */
};

#define INSTALLED_ASK 1024 /* prefixes in one call: well below 1 ms of the fib thread's time */

struct query;

/* Best routes, to be checked for installation in the forwarding table. */
struct installed {
	const struct query *q;
	struct prefix prefix[INSTALLED_ASK];
	json_t *route[INSTALLED_ASK]; /* lent from the page: an object, or a row of `columns` */
	bool missing[INSTALLED_ASK];
	unsigned count;
};

struct route_selector;

#define COLUMNS_MAX 32u

struct query {
	struct rpc_env *env;
	enum view view;
	enum family family;
	struct vrf_id vrf;
	struct shards_table table;
	const struct shard *shard; /* of the present destination */
	const struct config_peer *peer;
	struct peer_id peer_id;
	bool has_prefix, longer;
	struct prefix prefix;
	bool vpn, has_rd; /* a VPN family; the routes of one route distinguisher */
	struct vpn_rd rd;
	const struct vrps *vrps; /* of origin validation, in the present section; NULL: none */
	uint32_t own_asn;
	json_int_t limit;
	struct route_selector *selector; /* NULL: all routes */
	bool only_best, only_count;
	json_int_t counted; /* routes found, with only_count */
	uint8_t column[COLUMNS_MAX]; /* keys of a row */
	unsigned column_count; /* 0: routes are objects */
	json_t *routes; /* objects or rows */
	size_t attrs_len; /* of the page so far */
	struct installed installed;
	/* NULL, or called in a read section for each path of `routes` */
	void (*path)(struct query *q, const struct rib_path *p, json_t *route);
};

/* Parameter `rd` of a VPN family; `required`: the method needs one. False after rpc_fail(). */
bool query_rd(struct query *q, json_t *params, bool required, struct rpc_call *call)
	RUNS_ON(role_main);
/* Parameter `prefix`, of q->family. False after rpc_fail(). */
bool query_prefix(struct query *q, json_t *params, struct rpc_call *call) RUNS_ON(role_main);
/*
 * Parameter `prefix`, which may be an address: then q->prefix becomes the prefix of query_covering(),
 * and *found is whether there is one. False after rpc_fail().
 */
bool query_subject(struct query *q, json_t *params, bool *found, struct rpc_call *call)
	RUNS_ON(role_main);
/*
 * The longest prefix that holds the address and that a peer or this router announces, usable or not,
 * into q->prefix. False: none; q->prefix is the address with its full length.
 */
bool query_covering(struct query *q, const struct ip_addr *a) RUNS_ON(role_main);
/* False: the table does not exist. */
bool query_table(const struct query *q) RUNS_ON(role_main);
/* A read section, to end by layers_rib_read_end(). A table that was removed since the last section is empty. */
void query_section_begin(struct query *q) RUNS_ON(role_main);
/* The shard of a destination. */
const struct shard *query_shard(const struct query *q, struct dest_id id);
/* Adds the paths of the exact prefix (q->rd, q->prefix) to q->routes. Returns the destination; .v == DEST_NONE: none. */
struct dest_id query_paths(struct query *q) RUNS_ON(role_main);
/*
 * The peers whose announcements of the exact prefix were refused in the present sessions, as far as
 * the shard has records, which are those of announcements that are not kept.
 */
json_t *query_refused(struct query *q) RUNS_ON(role_main);

/* ---- rpc_fate.c ---- */

/* Completes a record of query_refused(). False: of an earlier session. */
bool query_refusal(struct query *q, const struct refused_route *r, json_t *o) RUNS_ON(role_main);
/* query_refused(), and the kept announcements that are refused, with their attributes. */
json_t *query_refused_all(struct query *q) RUNS_ON(role_main);

/* ---- rpc_selector.c: the parameters `as_path` and `community` ---- */

/* Creates q->selector if the parameters name one. False after rpc_fail(). */
bool rpc_selector_read(struct query *q, json_t *params, struct rpc_call *call) RUNS_ON(role_main);
/* True if the route is selected. */
bool rpc_selector_match(const struct query *q, const struct prefix *p, const struct attr_set *a);
/* True if the page has to end, because its regular expression took the time of a turn. */
bool rpc_selector_over(const struct query *q);
/* True if the regular expression took too many steps: routes were not decided. */
bool rpc_selector_failed(const struct query *q);
/* NULL is valid. */
void rpc_selector_destroy(struct route_selector *s);
