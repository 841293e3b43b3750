/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Declarations shared by the parts of a change of a destination. The thread of the shard owns and calls
 * everything here.
 *
 * shard_paths.c: edits of records and commands, and re-decisions of the scan
 * shard_make.c: the paths of the next set, from the present paths and the edit
 * shard_rank.c: the order of the paths
 * shard_one_path.c: a change of one path beside ranked paths, without ranking all
 * shard_publish.c: publication, journal entry, records of the change, reuse of the last result
 */
#pragma once

#include "rib/shard/shard_impl.h"

/* Change to one peer's path; `accepted` NULL removes the path. */
struct edit {
	struct peer_id peer;
	uint32_t path_id;
	uint32_t label;
	const struct shard_accepted *accepted;
	bool refused; /* with `accepted` NULL: import policy refuses the announcement */
};

/* A set under construction: s->keep and s->refused are the new paths. */
struct making {
	struct shard_change change;
	unsigned keep, refused;
	unsigned old; /* paths before; of the scan */
	bool alone; /* no other destination will use the result */
	bool restamped; /* the only change: a path had this stamp */
	uint16_t stamp;
};

/* A change of one path beside ranked paths. */
struct one {
	const struct edit *e; /* NULL: by the scan */
	bool there; /* the path stays, or is new: `now` */
	bool doomed; /* `was` is removed by a sweep */
	const struct rib_path *was; /* NULL: a new path */
	struct rib_path now;
	unsigned at; /* index of `was`; DEST_NO_PATH */
	unsigned place; /* of `now`: as dest_edit.insert */
	bool is; /* `now` is accepted */
	bool front_med; /* a path of the front has a MED */
	uint32_t key; /* decision_key() of `now`, if accepted */
};

/* Imported paths of a destination beyond these are refused. */
#define CROWD_PATHS_MAX 32768u
#define CROWD_PATHS_LEAST 64u /* of a peer, while there is room */

/* A change of an imported path. */
struct import_edit {
	struct rib_path path; /* peer and path id; all, with references, if `there` */
	bool there; /* false: the path goes */
	bool done; /* the path was there before */
};
/* Changes of imported paths of one destination, at most one each path. */
struct import_edits {
	struct import_edit *edit;
	unsigned count, places;
	uint32_t *place; /* import_edit_find() */
	/* results */
	unsigned refused, removed;
	struct peer_id refused_peer; /* the last one */
};

/* ---- a path ---- */

static inline const struct rib_path *
path_find(const struct path_set *set, struct peer_id peer, uint32_t path_id)
{
	for (unsigned i = 0; set != NULL && i < set->count; i++)
		if (is_of(&set->path[i], peer, path_id))
			return &set->path[i];
	return NULL;
}

static inline uint16_t
stamp(const struct rib_path *p)
{
	return atomic_load_explicit(&p->epoch, memory_order_relaxed);
}

/* True if the path carries the mark of the plan, or the peer is in no plan. */
static inline bool
is_marked(const struct rib_path *p, const struct shard_rib_in *r)
{
	return r->generation_flags == 0 || (p->label_flags & PATH_REJECTED) ||
	       (p->label_flags & PATH_GENERATIONS << PATH_GENERATION_SHIFT) == r->generation_flags;
}

static inline void
path_mark(struct rib_path *p, const struct shard_rib_in *r)
{
	if (!is_marked(p, r))
		p->label_flags = (p->label_flags & ~(PATH_GENERATIONS << PATH_GENERATION_SHIFT)) |
				 r->generation_flags;
}

/* Marks of a plan do not affect forwarding or advertising, so marks do not count. */
static inline bool
flags_differ(const struct rib_path *a, const struct rib_path *b)
{
	uint32_t marks = a->peer.v != PEER_SELF.v ? PATH_MARKS : 0;

	return ((a->label_flags ^ b->label_flags) & ~marks) != 0;
}

/* ---- shard_paths.c ---- */

/*
 * The path of a peer, also behind the view (then in *room). *at: its index for dest_stamp() and
 * struct dest_edit. NULL: none.
 */
const struct rib_path *path_locate(const struct shard_table *t, struct dest_id id,
	const struct dest_view *view, struct peer_id peer, uint32_t path_id, struct rib_path *room,
	unsigned *at) RUNS_ON(role_rib);

/*
 * Applies changes of imported paths in one publication. 0, -ENOMEM.
 */
int path_import_many(struct shard *s, struct shard_table *t, const struct prefix *p,
	struct import_edits *x) RUNS_ON(role_rib);

/* ---- shard_leak_crowd.c ---- */

/* NULL: the path has no edit. */
struct import_edit *import_edit_find(
	const struct import_edits *x, struct peer_id peer, uint32_t path_id);

/* ---- shard_make.c ---- */

/* Room for `n` paths in the scratch of the shard. 0, -ENOMEM. */
int path_scratch_reserve(struct shard *s, uint32_t n);
/* The path of an announcement. */
void path_make(const struct shard *s, const struct shard_table *t, const struct edit *e,
	struct rib_path *out);
/* Counts a path of each of `times` destinations after a change of the stamp from `was` to the current epoch. */
void path_count_restamp(struct shard_rib_in *r, uint16_t was, uint32_t times);
/*
 * An equal change of `times` destinations: `take` added and `drop` removed paths in the scratch, both in the
 * order of the old set. limit_count_change(): the count for max_prefixes. path_counts_change(): the counts of
 * path_took() and path_dropped(). A replaced path never counts twice, not even for a moment.
 */
void limit_count_change(struct shard *s, struct shard_table *t, unsigned take, unsigned drop,
	uint32_t times) RUNS_ON(role_rib);
void path_counts_change(struct shard *s, struct shard_table *t, unsigned take, unsigned drop,
	uint32_t times) RUNS_ON(role_rib);
/* References of a path on attribute sets and next hop, for `times` new destinations. */
void path_ref(struct shard *s, struct shard_table *t, const struct rib_path *p, uint32_t times)
	RUNS_ON(role_rib);
/* Ends the references of path_ref(). */
void path_unref(struct shard *s, struct shard_table *t, const struct rib_path *p, uint32_t times)
	RUNS_ON(role_rib);
/* References and counts of a path in a new destination, without the count for max_prefixes. */
void path_took(struct shard *s, struct shard_table *t, const struct rib_path *p) RUNS_ON(role_rib);
/* Ends the references and the counts of path_took(). */
void path_dropped(struct shard *s, struct shard_table *t, const struct rib_path *p)
	RUNS_ON(role_rib);
/* Applies the current state of the next hop; true if the flags change. */
bool path_refresh_flags(const struct shard *s, const struct shard_table *t,
	const struct prefix *prefix, struct rib_path *p) RUNS_ON(role_rib);
/* Replaces path `old` by `now`; NULL: no path. */
void make_change(struct shard *s, struct shard_table *t, struct making *m,
	const struct rib_path *old, const struct rib_path *now) RUNS_ON(role_rib);
/* The paths of the next set of a destination, with the edit `e` or, with NULL, for the scan. 0, -ENOMEM. */
int make_paths(struct shard *s, struct shard_table *t, struct making *m,
	const struct dest_view *view, const struct edit *e) RUNS_ON(role_rib);
/* The same with the edits of imported paths. 0, -ENOMEM. */
int make_imports(struct shard *s, struct shard_table *t, struct making *m,
	const struct dest_view *view, struct import_edits *x) RUNS_ON(role_rib);
/* Drops the references of the added paths. Always -ENOMEM. */
int make_undo(struct shard *s, struct shard_table *t, const struct making *m) RUNS_ON(role_rib);

/* ---- shard_rank.c ---- */

/*
 * Ranks keep[0 .. n-1], the paths of `prefix`, into s->order and s->multipath. True if the order of
 * the first `ordered` paths changes: the order that readers see.
 */
bool rank_paths(struct shard *s, const struct shard_table *t, const struct prefix *prefix,
	unsigned n, unsigned ordered) RUNS_ON(role_rib);
/* Paths with such a flag take no short cut: rank_paths() ranks all paths of the destination. */
#define PATH_RANK_RARE (PATH_OWN | PATH_AFTER)
/* decision_key() of an accepted path. */
uint32_t rank_key(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
	RUNS_ON(role_rib);
/*
 * Inputs of two accepted paths for a comparison without MED. False if the keys decide; most paths
 * with equal keys need no look at attribute sets.
 */
bool rank_inputs(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	uint32_t a, const struct rib_path *q, uint32_t b, struct decision_input in[2])
	RUNS_ON(role_rib);
/* The step in which `rival` loses against the best path. */
enum decision_reason rank_losing_step(const struct shard *s, const struct shard_table *t,
	const struct rib_path *best, const struct rib_path *rival) RUNS_ON(role_rib);
/*
 * True if MED decides between `p` and a path of the destination except path `skip`: then the group
 * of `p` must be ranked.
 */
bool rank_med_decides(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct path_set *front, const struct dest_tail *tail, const struct rib_path *p,
	unsigned skip) RUNS_ON(role_rib);

/* ---- shard_one_path.c ---- */

/* An edit by change_one(). Jobs of the scan may change other paths of the destination, too. 0, -ENOMEM; -ENOTSUP: rebuild(). */
int one_edit(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view, const struct edit *e, unsigned at, const struct rib_path *was)
	RUNS_ON(role_rib);
/*
 * The scan by change_one(), if a sweep or a next hop changes one path only. `view` has all paths.
 * 0, -ENOMEM; -ENOTSUP: rebuild().
 */
int one_redecide(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view) RUNS_ON(role_rib);
/*
 * Adds, changes or removes one path of a set that has imported paths, and so is an array. An instance
 * may import a prefix of thousands of distinguishers. 0, -ENOMEM; -ENOTSUP: rebuild().
 */
int one_of_array(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view, const struct edit *e, const struct rib_path *was)
	RUNS_ON(role_rib);

/* ---- shard_publish.c ---- */

/*
 * Publishes `set` (NULL: no paths) as the new set of `id`; `old` is a copy of the previous paths,
 * or the published paths (NULL: no paths). Releases the removed paths. Destinations with equal paths
 * may reuse the result.
 */
void publish_made(struct shard *s, struct shard_table *t, struct dest_id id, struct path_set *set,
	const struct rib_path *old, unsigned old_count, const struct edit *e, struct making *m)
	RUNS_ON(role_rib);
/* True if the destination had the paths of the last destination, and has got the result. */
bool reuse_run(struct shard *s, struct shard_table *t, struct dest_id id, const struct edit *e)
	RUNS_ON(role_rib);
/* The first path after the change; NULL: not usable. */
const struct rib_path *one_best(const struct path_set *front, const struct one *o);
/* Publishes a change of one path; `change`: of dest_edit_begin(). */
void publish_one(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct path_set *front, const struct one *o, const struct dest_change *change,
	struct making *m) RUNS_ON(role_rib);
