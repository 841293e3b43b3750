/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One table of destinations for a (vrf, family) in a shard: prefix -> dense id, a segmented array that
 * never moves, and for each destination one published immutable set of paths.
 *
 * Writer: the shard's thread. Readers: fib, session and main threads, online in the RIB readers' QSBR.
 * Budget : destination 24 bytes (IPv6: 40), which one usual path is part of; several, and kept ones that policy changed, 4 + 12 or 16 a path, shared by
 * equal ones; unusual ones 8 + 24 (dest_word_impl.h says which);
 * index 4 bytes a slot, 3/8 to 3/4 full.
 * A destination without paths is a tombstone: id and prefix stay until every journal cursor has passed its last
 * change and a grace period went by; then the id is used again.
 *
 * A growing index is filled beside the one in use, 64 ids with each new destination: no step takes longer than some microseconds.
 * The owner must not itself be online in the readers' QSBR: short of memory, dest_publish() waits for a grace period.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"
#include "rib/attr.h"

#include <stdatomic.h>

struct arena;
struct qsbr;
struct dest_table;

DEFINE_ID(dest_id, uint32_t);
DEFINE_ID(peer_id,
	uint16_t); /* dense, given by control; 0 is ourselves (`networks`, redistribution) */

#define DEST_NONE UINT32_MAX
#define PEER_SELF ((struct peer_id){0})
#define PEER_MAX 4096
#define PEER_WORDS (PEER_MAX / 64) /* of a set of peers, a bit each */

enum path_flag {
	PATH_NEXT_HOP_UP = 1u << 0, /* resolvable: eligible (RFC 4271 9.1.2.1) */
	PATH_REJECTED =
		1u << 1, /* kept by keep_all_routes, refused by import policy; never a candidate */
	PATH_STALE = 1u << 2, /* only in what rib.routes shows; derived from the epoch */
};
/*
 * Four bits above the flags. A path of our own has its enum route_source there, a rejected path the reason (shard_path_refused()), and an accepted
 * path of a peer the two marks of a commit: PATH_HELD, and the generation of the plan under which it was last changed (0: none).
 */
#define PATH_SOURCE_SHIFT 8
#define PATH_HELD                                                                                  \
	(1u << 8) /* import policy refuses it now; it stays in use until the plan has no replacement left to wait for */
#define PATH_GENERATION_SHIFT 9
#define PATH_GENERATIONS 7u /* 1 .. 7; they are used in turn */
#define PATH_MARKS (PATH_HELD | PATH_GENERATIONS << PATH_GENERATION_SHIFT)

/* One peer's offer. 24 bytes; most are kept in 16, 12 or 8 (dest_word_impl.h). */
struct rib_path {
	struct peer_id peer;
	_Atomic uint16_t
		epoch; /* the one field written in place (by the shard): stale stamp, see rib/adj_rib_in.h */
	struct attr_id accepted; /* after import policy; .v == 0 with PATH_REJECTED */
	struct attr_id received; /* as received, with keep_all_routes; else .v == 0 */
	uint32_t path_id; /* RFC 7911 identifier as received; 0 without */
	uint32_t
		label_flags; /* label << 12 (0xfffff: none) | enum path_flag | what PATH_SOURCE_SHIFT says */
	uint32_t time_s; /* monotonic seconds when it last changed */
};
static_assert(sizeof(struct rib_path) == 24, "budget of docs/architecture.md");

/* A peer's path that policy refuses and that stays in use for now (struct shard_plan). */
static inline bool
rib_path_held(const struct rib_path *p)
{
	return p->peer.v != PEER_SELF.v &&
	       (p->label_flags & (PATH_HELD | PATH_REJECTED)) == PATH_HELD;
}

/* The generation of the plan under which a peer's path was last changed; 0: none, or the path is refused or our own. */
static inline unsigned
rib_path_generation(const struct rib_path *p)
{
	if (p->peer.v == PEER_SELF.v || (p->label_flags & PATH_REJECTED))
		return 0;
	return p->label_flags >> PATH_GENERATION_SHIFT & PATH_GENERATIONS;
}

/* enum route_source (rib/policy.h) of a path of PEER_SELF; of a peer's paths, the peer tells it. */
static inline unsigned
rib_path_source(const struct rib_path *p)
{
	return p->label_flags >> PATH_SOURCE_SHIFT & 0xfu;
}

/*
 * Best first, then by falling preference; what is not eligible behind, rejected ones at the very end. Immutable but for epochs. A set may hold
 * nothing but rejected paths: `eligible` says whether there is a route.
 */
struct path_set {
	uint16_t count;
	uint16_t eligible; /* the first so many are candidates */
	uint16_t
		multipath; /* the first so many forward together (ECMP, `max_paths`); at least 1 when eligible > 0 */
	uint16_t unused;
	struct rib_path path[];
};
static_assert(sizeof(struct path_set) == 8, "budget of docs/architecture.md");

/*
 * Do the forwarding tables have the destination? Without a data plane, and in families that are not forwarded, DEST_INSTALLED. A destination in any
 * other state is not advertised.
 */
enum dest_fib {
	DEST_INSTALLED,
	DEST_ASKED, /* the tables are nearly full, and the fib thread has not answered yet */
	DEST_NOT_INSTALLED, /* the tables have no room */
};

#define DEST_BYTES_IPV4 24u
#define DEST_BYTES_IPV6 40u
#define PATHS_PACKED_MAX 8u /* kept packed, as long as they are usual ones */

/*
 * What a reader sees of a destination at one moment. `paths` may point into the view: it is good as long as that, which is not copied, and
 * (as the sets that it names) no longer than until the reader's next quiescent report.
 */
struct dest_view {
	struct prefix prefix;
	const struct path_set *paths; /* NULL: none (tombstone) */
	uint32_t sequence; /* low 32 bits of its last change's journal sequence */
	enum dest_fib fib;
	uint64_t identity; /* of the paths, but for epochs: while it is the same, so are they */
	union dest_paths {
		struct path_set set;
		struct {
			uint16_t head[4];
			struct rib_path path[PATHS_PACKED_MAX];
		} room;
	} room;
};

/* `afi` tells the prefixes' size. 0, -ENOMEM. */
int dest_table_create(struct arena *a, struct qsbr *readers, enum afi afi, struct dest_table **out);
void dest_table_destroy(struct dest_table *t);

/*
 * Owner. Find or create. 0, -ENOMEM, -EINVAL (another family's prefix). A new destination has no paths; the next dest_reclaim() takes it
 * back unless something was published for it.
 */
int dest_get(struct dest_table *t, const struct prefix *p, struct dest_id *out) RUNS_ON(role_rib);
/*
 * Owner. Publishes `paths` (NULL: none) with one release store and retires the old set. `sequence` is stored first.
 * Takes over `paths`, which came from path_set_alloc().
 */
void dest_publish(struct dest_table *t, struct dest_id id, struct path_set *paths,
	uint64_t sequence) RUNS_ON(role_rib);
/*
 * The same where nothing changes for those who follow the journal (rejected paths come and go): the sequence stays, so no entry is due. An
 * id of which the journal never told needs to be passed by nobody when its last path goes.
 */
void dest_publish_quiet(struct dest_table *t, struct dest_id id, struct path_set *paths)
	RUNS_ON(role_rib);
/*
 * Owner. Other state of `id` in the forwarding tables. `sequence`: of the journal entry that follows; 0: no entry is due, as the state changes nothing
 * for those who follow the journal.
 */
void dest_fib_set(struct dest_table *t, struct dest_id id, enum dest_fib state, uint64_t sequence)
	RUNS_ON(role_rib);
enum dest_fib dest_fib_get(const struct dest_table *t, struct dest_id id) RUNS_ON(role_rib);
/* Owner. From now on a destination of at least that prefix length that had no paths and gets some is DEST_ASKED. */
void dest_tight(struct dest_table *t, unsigned from_len) RUNS_ON(role_rib);
#define DEST_TIGHT_NEVER 255u
/*
 * The owner's stamp on path `index` of those that dest_peek() shows: nobody else notices. False: it shares them, nothing changed; a set with
 * the new stamp is to be published.
 */
bool dest_stamp(struct dest_table *t, struct dest_id id, unsigned index, uint16_t epoch)
	RUNS_ON(role_rib);
/*
 * Owner. The paths of `id` as they are, be it none, to be given to other destinations, too: what came of one prefix of an UPDATE comes of the
 * others that were as it was. .word 0: they can't be shared. Until dest_ref_drop() they stay what they are.
 */
struct dest_ref {
	uint64_t word;
	uint32_t time_s;
};
struct dest_ref dest_ref_take(struct dest_table *t, struct dest_id id) RUNS_ON(role_rib);
void dest_ref_drop(struct dest_table *t, struct dest_ref *r) RUNS_ON(role_rib);
/* `id` has exactly these, stamps included. */
bool dest_ref_is(const struct dest_table *t, struct dest_id id, const struct dest_ref *r)
	RUNS_ON(role_rib);
/* As dest_publish(), or (`sequence` 0) dest_publish_quiet(). Never short of memory. */
void dest_publish_ref(struct dest_table *t, struct dest_id id, const struct dest_ref *r,
	uint64_t sequence) RUNS_ON(role_rib);
struct path_set *path_set_alloc(struct dest_table *t, unsigned count) RUNS_ON(role_rib);
/*
 * Owner, once a loop. Tombstones whose last change is before `safe_sequence` begin their grace period; what is past it is reused.
 * A bounded piece of work; true: there is more of it. What waits for readers comes with a later call, so call it now and then when idle, too.
 */
bool dest_reclaim(struct dest_table *t, uint64_t safe_sequence) RUNS_ON(role_rib);
/* Owner: so much waits to be freed that dest_publish() will soon have to do it, all at once. */
bool dest_behind(const struct dest_table *t) RUNS_ON(role_rib);

/* Readers and the owner. Ids are 0 .. dest_limit()-1; those in between may be free. */
uint32_t dest_limit(const struct dest_table *t);
/* Owner. Of this identity (not 0) are the paths of `id`, and this is its prefix. False: it has others, none, or is free. */
bool dest_identical(
	const struct dest_table *t, struct dest_id id, uint64_t identity, struct prefix *prefix);
/* It shares its paths with the id before it, or both have none: what was fetched for that is there. A hint. */
bool dest_like_last(const struct dest_table *t, struct dest_id id);
/* False: the id is free. */
bool dest_peek(const struct dest_table *t, struct dest_id id, struct dest_view *out);
/* As dest_peek(), but shows the best path only, or the first one that is no candidate. */
bool dest_peek_best(const struct dest_table *t, struct dest_id id, struct dest_view *out);
/* Exact; .v == DEST_NONE when there is none. */
struct dest_id dest_find(const struct dest_table *t, const struct prefix *p);
/* The longest destination with eligible paths that covers `a`, one probe per length in use; DEST_NONE. */
struct dest_id dest_longest(
	const struct dest_table *t, const struct ip_addr *a, struct dest_view *out);
/* Owner. Is this the destination of that prefix? For who has a guess: `id` may be any. */
bool dest_is(const struct dest_table *t, struct dest_id id, const struct prefix *p);
/* Prefetches the index line of a prefix, for batches. */
void dest_prefetch(const struct dest_table *t, const struct prefix *p);
/* What dest_find() probably says; prefetches the destination and looks at none. For batches, behind dest_prefetch(). */
struct dest_id dest_hint(const struct dest_table *t, const struct prefix *p);
/* Prefetches the destination of an id, which need not be one. */
void dest_prefetch_id(const struct dest_table *t, struct dest_id id);
/* Its path set; for walks, and behind that. */
void dest_prefetch_paths(const struct dest_table *t, struct dest_id id);
/* The prefix of an id, for prefetching. False: the id is free. */
bool dest_hint_prefix(const struct dest_table *t, struct dest_id id, struct prefix *out);
/* The set of its first path (of a rejected one maybe what was received), for prefetching; 0: none. Behind dest_prefetch_paths(). */
struct attr_id dest_hint_best(const struct dest_table *t, struct dest_id id);

/* Any thread. */
uint32_t dest_count(
	const struct dest_table *t); /* with at least one path, be it a rejected one that is kept */
uint32_t dest_path_count(
	const struct dest_table *t); /* paths in all, rejected ones that are kept among them */
uint32_t dest_tombstones(const struct dest_table *t);
size_t dest_table_bytes(const struct dest_table *t);
const struct hash_probes *dest_table_probes(const struct dest_table *t); /* of dest_get() */
