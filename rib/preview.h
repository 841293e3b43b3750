/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What other import policies would make of the paths that are there, and of the routes that lead by them; nothing is changed.
 *
 * Works on its own memory; the caller is a RIB reader, online for each preview_dest() and at most a few dozen of them. A route that is kept
 * as received is judged as the shard would judge it; of others only what was accepted is known.
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
	const struct shard *shard; /* the only one, or */
	const struct shards *shards; /* all of them: ids are theirs */
	struct table_id table;
	enum family family;
	bool fib; /* compare next hops of destinations, too */
	unsigned max_paths; /* as in shard_config */
	uint32_t cluster_id; /* RFC 4456 7, 8: by which internal peers' paths are judged */
	bool all; /* with `fib`: max_paths is another one than now, so next hops change also where no path does */
};

/* 0, -ENOMEM. */
int preview_create(const struct preview_config *c, struct preview **out);
void preview_destroy(struct preview *p);
/* Its paths are judged by `policy` (lent as long as `p`; NULL: none, RFC 8212) and `allow_as_in`. 0, -ENOMEM, -ENOENT: the shard knows no such peer. */
int preview_peer(
	struct preview *p, struct peer_id peer, const struct policy *policy, unsigned allow_as_in);
/*
 * Counts one destination. 0; -ENOMEM; -EAGAIN: nothing was counted, preview_question() has to be answered and the destination asked for
 * again.
 */
int preview_dest(struct preview *p, struct dest_id id);
/*
 * The best path of a destination after the change, for the export rules. Counts nothing. `v` is the caller's look at `id`. Any thread that is an online
 * RIB reader, while no other thread uses `p`.
 */
struct preview_best {
	/* False: the best path, or that there is none, stays as it is in the destination's path set. */
	bool changes;
	/* Of `v`: its peer, or the source of our own; NULL: no usable path. */
	const struct rib_path *path;
	/* With `path`, after the new policy; until the next call, or the reader's next quiescent report. */
	const struct attr_set *attrs;
};
/* 0; -ENOMEM; -EAGAIN as above. */
int preview_best(
	struct preview *p, struct dest_id id, const struct dest_view *v, struct preview_best *out);

/* Is that next hop good for a path of that peer? Asked once each, by preview_dest() with `fib` only. */
struct preview_question {
	struct peer_id peer;
	struct ip_addr next_hop;
};
struct preview_answer {
	bool eligible, known; /* known: to that shard */
	uint32_t metric;
};
const struct preview_question *preview_question(const struct preview *p);
/* 0, -ENOMEM. */
int preview_answer(struct preview *p, const struct preview_answer *a);
/* What the shard knows; of one that nobody has used yet, that it is. Its own memory is not touched. */
struct preview_answer preview_next_hop(const struct shard *s, const struct preview_question *q)
	RUNS_ON(role_rib);

void preview_peer_counts(const struct preview *p, struct peer_id peer, struct preview_counts *out);
/* Destinations to which BGP's paths would lead (no more), or by other next hops. */
void preview_fib_counts(const struct preview *p, struct preview_counts *out);
