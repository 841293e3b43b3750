/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Result of other import policies for the stored paths and the routes over them, without any
 * change. Works on its own memory. The caller is a RIB reader, online for at most a few dozen calls
 * of preview_dest(). A route kept as received is evaluated as by the shard; of a route without kept
 * attributes only the accepted attributes are known.
 */
#pragma once

#include "lpm/base.h"
#include "rib/policy.h"
#include "rib/shards.h"

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
	bool all; /* with `fib`: max_paths changes, so next hops may change without a path change */
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
/* Destinations that gain or lose their BGP route, or get other next hops. */
void preview_fib_counts(const struct preview *p, struct preview_counts *out);
