/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Result of other import policies for the stored paths and the routes over them, without any
 * change. Works on its own memory. The caller is a RIB reader, online for at most a few dozen calls
 * of preview_dest(). A route kept as received is evaluated as by the shard; of a route without kept
 * attributes only the accepted attributes are known.
 */
#pragma once

#include "lpm/base/base.h"
#include "rib/policy/policy.h"
#include "rib/shard/shards.h"

struct arena;
struct preview;

struct preview_counts {
	uint64_t added, removed, changed;
};

struct preview_config {
	struct arena *arena;
	const struct shard *shard; /* a single shard, or */
	const struct shards *shards; /* all shards, with ids across shards */
	struct table_id table;
	enum family family;
	bool fib; /* compare next hops of destinations, too */
	unsigned max_paths; /* as in shard_config */
	uint32_t cluster_id; /* RFC 4456 7, 8: cluster id for paths of internal peers */
	struct vrps *vrps; /* for `match.validation`; the preview takes a reference */
	uint32_t own_asn;
	/* with `fib`: max_paths or `preference` changes, so routes may change without a path change */
	bool all;
	uint8_t preference[2][SOURCE_COUNT]; /* with `fib`: now and then; the lowest value wins */
};

/* A prefix of this host: the route of this router in BGP, and the route of the host. */
struct preview_own {
	struct prefix prefix;
	bool changes; /* the route in BGP becomes that of `attrs` */
	enum route_source source; /* of `attrs` */
	unsigned after; /* flags of PATH_AFTER */
	const struct attr_set *attrs; /* NULL: no route in BGP */
	/* The route of the host in the forwarding tables; source SOURCE_COUNT: none. */
	struct preview_entry {
		enum route_source source;
		uint64_t hops; /* the sum of preview_hop(); of no next hop: another number */
	} now, then;
};

/* 0, -ENOMEM. */
int preview_create(const struct preview_config *c, struct preview **out);
void preview_destroy(struct preview *p);
/*
 * Evaluates paths of `peer` by `policy` (borrowed for the lifetime of `p`; NULL: no policy, RFC
 * 8212) and `allow_as_in`. 0, -ENOMEM, -ENOENT: unknown peer.
 */
int preview_peer(
	struct preview *p, struct peer_id peer, const struct policy *policy, unsigned allow_as_in);
/* The group of a peer of preview_peer() after the change: policy_group_key(). */
void preview_peer_group(struct preview *p, struct peer_id peer, uint64_t group_key);
/* A number for a next hop; the address 0 of no family is a blackhole. */
uint64_t preview_hop(const struct ip_addr *a);
/* Adds a prefix of this host, once; `attrs` is copied. 0, -ENOMEM. */
int preview_own(struct preview *p, const struct preview_own *own);
unsigned preview_own_count(const struct preview *p);
/* Prefix `i` of preview_own(). Any thread, while no other thread changes `p`. */
const struct preview_own *preview_own_at(const struct preview *p, unsigned i);
/* True if only prefixes of preview_own() can change: the other destinations need no look. */
bool preview_own_only(const struct preview *p);
/* After the last preview_dest(): counts the prefixes of this host that are no destination. */
void preview_own_end(struct preview *p);
/*
 * Counts one destination. 0; -ENOMEM; -EAGAIN: the destination was not counted; answer
 * preview_question() and call again.
 */
int preview_dest(struct preview *p, struct dest_id id);
/*
 * The best path of a destination after the change, for export rules. Counts nothing. `v` is the
 * caller's view of `id`. Any online RIB reader, while no other thread uses `p`.
 */
struct preview_best {
	/* False: the best path, or the lack of a path, stays as in the path set. */
	bool changes;
	/* From `v`: gives the peer, or the source of an own route; NULL: no usable path. */
	const struct rib_path *path;
	/*
	 * With `path`, after the new policy; until the next call, or the reader's next quiescent
	 * report.
	 */
	const struct attr_set *attrs;
};
/* 0; -ENOMEM; -EAGAIN as above. */
int preview_best(
	struct preview *p, struct dest_id id, const struct dest_view *v, struct preview_best *out);

/*
 * A question to the shard: whether the next hop is valid for paths of the peer. Each pair is asked
 * once, by preview_dest() with `fib`.
 */
struct preview_question {
	struct peer_id peer;
	struct ip_addr next_hop;
};
struct preview_answer {
	bool eligible, known; /* known: the shard tracks the next hop */
	uint32_t metric;
};
const struct preview_question *preview_question(const struct preview *p);
/* 0, -ENOMEM. */
int preview_answer(struct preview *p, const struct preview_answer *a);
/* The state of a next hop in the shard; an untracked next hop is valid. Reads no memory of `p`. */
struct preview_answer preview_next_hop(const struct shard *s, const struct preview_question *q)
	RUNS_ON(role_rib);

void preview_peer_counts(const struct preview *p, struct peer_id peer, struct preview_counts *out);
/* Prefixes that the forwarding tables gain or lose, or that get other next hops. */
void preview_fib_counts(const struct preview *p, struct preview_counts *out);
