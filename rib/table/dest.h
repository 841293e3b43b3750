/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Destinations of one (vrf, family) in a shard. The table maps a prefix to a dense id; each
 * destination publishes one immutable set of paths. Destinations live in segments and never move.
 * In a VPN table the key is a route distinguisher and a prefix (RFC 4364 4.1).
 *
 * Writer: the thread of the shard (the owner). Readers: fib, session, BMP, main threads, online in
 * the QSBR of RIB readers. The owner must not be online there: when memory is short, dest_publish()
 * waits for a grace period.
 *
 * A destination without paths is a tombstone. Its id and prefix stay until every journal cursor has
 * passed the last change and a grace period has elapsed; then the id is reused.
 *
 * Memory: a destination takes 24 bytes (IPv6: 40; in a VPN table 8 more), including a single common
 * path without a label. A set of several common paths, or with a label, takes 4 bytes + 12 per path
 * (4 more where policy changed a kept route, 4 more with labels), shared by destinations with equal
 * paths. More than PATHS_PACKED_MAX common paths without labels take 136 bytes + 12 per path behind
 * the first PATHS_PACKED_MAX, never shared. An uncommon set takes 8 + 24 per path.
 * dest_word_impl.h defines "common". The index takes 4 bytes per slot and is 3/8 to 3/4 full. A
 * larger index is filled next to the current index, 64 ids per new destination, so that each step
 * takes microseconds.
 *
 * A table with ten routes takes some 4 KiB; changes take 20 KiB more until their grace period ends.
 * After a withdrawal, a segment of 1,024 ids without a destination is freed, and new destinations
 * take the lowest segments with room. When the highest ids are gone, a smaller index takes over.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/attr.h"
#include "rib/table/vpn.h"

#include <stdatomic.h>

struct arena;
struct qsbr;
struct dest_table;

DEFINE_ID(dest_id, uint32_t);
DEFINE_ID(peer_id,
	uint16_t); /* dense, assigned by control; 0 is this router (`networks`, redistribution) */

#define DEST_NONE UINT32_MAX
#define PEER_SELF ((struct peer_id){0})
#define PEER_MAX 4096
#define PEER_WORDS (PEER_MAX / 64) /* words of a bitmap of peers */

enum path_flag {
	PATH_NEXT_HOP_UP = 1u << 0, /* resolvable: eligible (RFC 4271 9.1.2.1) */
	PATH_REJECTED =
		1u << 1, /* kept by keep_all_routes, refused by import policy; never a candidate */
	PATH_STALE = 1u << 2, /* set only in the output of rib.routes; derived from the epoch */
	PATH_MED = 1u << 3, /* accepted attributes with a MED above 0 */
	/* of a VPN instance: leaked by route targets; the peer is that of the source */
	PATH_IMPORTED = 1u << 4,
	/*
	 * the next hop resolves by the BGP route of the prefix of the path, so the state of the next
	 * hop without that route counts (struct nexthop_own)
	 */
	PATH_OWN = 1u << 5,
	/*
	 * of a path of this router: the source has a higher `preference` than routes of external, or
	 * internal, peers, so a best path of such a peer wins
	 */
	PATH_AFTER_EXTERNAL = 1u << 6,
	PATH_AFTER_INTERNAL = 1u << 7,
};
#define PATH_AFTER (PATH_AFTER_EXTERNAL | PATH_AFTER_INTERNAL)
/*
 * Four bits above the flags: of a path of this router enum route_source; of a rejected path the
 * reason (shard_path_refused()); of an accepted path of a peer the marks of a commit, PATH_HELD and
 * the generation of the plan during which the path last changed (0: no plan).
 */
#define PATH_SOURCE_SHIFT 8
#define PATH_HELD (1u << 8) /* refused by import policy, in use until the plan ends */
#define PATH_GENERATION_SHIFT 9
#define PATH_GENERATIONS 7u /* 1 to 7, used in turn */
#define PATH_MARKS (PATH_HELD | PATH_GENERATIONS << PATH_GENERATION_SHIFT)

/* A path from one peer. Most paths are stored in 16, 12 or 8 bytes (dest_word_impl.h). */
struct rib_path {
	struct peer_id peer;
	/* stale stamp (rib/table/adj_rib_in.h), the only field that the shard writes in place */
	_Atomic uint16_t epoch;
	struct attr_id accepted; /* after import policy; .v == 0 with PATH_REJECTED */
	struct attr_id received; /* as received, with keep_all_routes; otherwise .v == 0 */
	uint32_t path_id; /* RFC 7911 identifier as received; 0 without */
	/* label << 12 (0xfffff: no label) | enum path_flag | bits of PATH_SOURCE_SHIFT */
	uint32_t label_flags;
	uint32_t time_s; /* monotonic seconds of the last change */
};
static_assert(sizeof(struct rib_path) == 24, "budget of docs/architecture.md");

/*
 * True if import policy refuses this path of a peer and a plan keeps the path in use (struct
 * shard_plan).
 */
static inline bool
rib_path_held(const struct rib_path *p)
{
	return p->peer.v != PEER_SELF.v &&
	       (p->label_flags & (PATH_HELD | PATH_REJECTED)) == PATH_HELD;
}

/*
 * Generation of the plan during which a peer's path last changed; 0 without a plan, for a refused
 * path and for a path of this router.
 */
static inline unsigned
rib_path_generation(const struct rib_path *p)
{
	if (p->peer.v == PEER_SELF.v || (p->label_flags & PATH_REJECTED))
		return 0;
	return p->label_flags >> PATH_GENERATION_SHIFT & PATH_GENERATIONS;
}

/* enum route_source (rib/policy/policy.h) of a path of PEER_SELF. */
static inline unsigned
rib_path_source(const struct rib_path *p)
{
	return p->label_flags >> PATH_SOURCE_SHIFT & 0xfu;
}

/*
 * Paths by falling preference: eligible paths, then ineligible, then rejected. Immutable except for
 * epochs. A set may consist of rejected paths alone; there is a route if `eligible` > 0.
 */
struct path_set {
	uint16_t count;
	uint16_t eligible; /* number of candidates, at the front */
	/*
	 * number of paths that forward together (ECMP, `max_paths`), at the front; at least 1 if
	 * eligible > 0
	 */
	uint16_t multipath;
	uint16_t unused;
	struct rib_path path[];
};
static_assert(sizeof(struct path_set) == 8, "budget of docs/architecture.md");

/*
 * Whether the forwarding tables hold the destination. Always DEST_INSTALLED without a data plane
 * and in families without forwarding. Only an installed destination is advertised.
 */
enum dest_fib {
	DEST_INSTALLED,
	DEST_ASKED, /* the tables are nearly full, and the fib thread has not answered yet */
	DEST_NOT_INSTALLED, /* the tables have no room */
};

#define DEST_BYTES_IPV4 24u
#define DEST_BYTES_IPV6 40u
#define DEST_BYTES_VPNV4 32u
#define DEST_BYTES_VPNV6 48u
#define PATHS_PACKED_MAX 8u /* longest set of common paths that is packed */

/*
 * A consistent copy of a destination for a reader. `paths` may point into the view, so a view must
 * not be copied. `paths` and the attribute sets of the paths are valid until the next quiescent
 * report of the reader.
 */
struct dest_view {
	struct prefix prefix;
	struct vpn_rd rd; /* 0 in a table without distinguishers */
	const struct path_set *paths; /* NULL for a tombstone */
	unsigned
		ordered; /* paths in the order of rank; the rest of dest_peek_all() is in no order */
	/* at least the number of paths that are not in `paths`, but in those of dest_peek_all() */
	unsigned behind;
	uint32_t sequence; /* low 32 bits of the journal sequence of the last change */
	enum dest_fib fib;
	/*
	 * identity of the paths without epochs: equal identity, equal paths; 0: none, if more paths
	 * are behind
	 */
	uint64_t identity;
	union dest_paths {
		struct path_set set;
		struct {
			uint16_t head[4];
			struct rib_path path[PATHS_PACKED_MAX];
		} room;
	} room;
};

/* `afi` selects the size of prefixes. 0, -ENOMEM. */
int dest_table_create(struct arena *a, struct qsbr *readers, enum afi afi, struct dest_table **out);
/* As dest_table_create(), for a VPN table: route distinguishers are part of the keys. */
int dest_table_create_vpn(
	struct arena *a, struct qsbr *readers, enum afi afi, struct dest_table **out);
void dest_table_destroy(struct dest_table *t);

/*
 * Owner. Finds or creates the destination of `p`, of (rd, p) in a VPN table. 0, -ENOMEM, -EINVAL
 * (wrong family, or a distinguisher in another table). A new destination has no paths; the next
 * dest_reclaim() frees the id unless paths are published first.
 */
int dest_get_rd(struct dest_table *t, struct vpn_rd rd, const struct prefix *p, struct dest_id *out)
	RUNS_ON(role_rib);
/* `hash`: dest_key_hash(). */
int dest_get_hashed(struct dest_table *t, struct vpn_rd rd, const struct prefix *p, uint64_t hash,
	struct dest_id *out) RUNS_ON(role_rib);
/* dest_get_rd() for the distinguisher 0. */
int dest_get(struct dest_table *t, const struct prefix *p, struct dest_id *out) RUNS_ON(role_rib);
/* Any thread. vpn_prefix_hash() in a VPN table, otherwise prefix_hash(). */
uint64_t dest_key_hash(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p);
/*
 * Owner. Publishes `paths` (NULL: no paths) with one release store and retires the old set.
 * `sequence` is stored first; 0: a change without effect on readers of the journal (rejected paths come
 * and go), where the sequence stays and no journal entry follows. An id that never had a journal entry
 * does not wait for cursors when the last path goes. Takes ownership of `paths`, which
 * path_set_alloc() returned.
 */
void dest_publish(struct dest_table *t, struct dest_id id, struct path_set *paths,
	uint64_t sequence) RUNS_ON(role_rib);
/*
 * Owner. Sets the state of `id` in the forwarding tables. `sequence` is the sequence of the journal
 * entry that follows; 0 if readers of the journal need no entry.
 */
void dest_fib_set(struct dest_table *t, struct dest_id id, enum dest_fib state, uint64_t sequence)
	RUNS_ON(role_rib);
enum dest_fib dest_fib_get(const struct dest_table *t, struct dest_id id) RUNS_ON(role_rib);
/*
 * Owner. From now on a destination with a prefix of at least `from_len` becomes DEST_ASKED when the
 * first path arrives.
 */
void dest_tight(struct dest_table *t, unsigned from_len) RUNS_ON(role_rib);
#define DEST_TIGHT_NEVER 255u
/*
 * Owner. Stamps path `index` of the set that dest_peek() shows. False if the destination shares the
 * set: nothing changed, and the caller publishes a set with the new stamp.
 */
bool dest_stamp(struct dest_table *t, struct dest_id id, unsigned index, uint16_t epoch)
	RUNS_ON(role_rib);
/*
 * Owner. A reference on the (possibly empty) path set of a destination, so that the set can be
 * published for other destinations. Prefixes of one UPDATE with equal paths before get equal paths
 * after. .word is 0 if the set cannot be shared. The set is unchanged until dest_ref_drop().
 */
struct dest_ref {
	uint64_t word;
	uint32_t time_s;
};
struct dest_ref dest_ref_take(struct dest_table *t, struct dest_id id) RUNS_ON(role_rib);
void dest_ref_drop(struct dest_table *t, struct dest_ref *r) RUNS_ON(role_rib);
/* True if `id` has exactly the paths of `r`, stamps included. */
bool dest_ref_is(const struct dest_table *t, struct dest_id id, const struct dest_ref *r)
	RUNS_ON(role_rib);
/* As dest_publish(). Allocates no memory. */
void dest_publish_ref(struct dest_table *t, struct dest_id id, const struct dest_ref *r,
	uint64_t sequence) RUNS_ON(role_rib);
/*
 * Owner. The tail: paths behind the first paths by rank, in no order. Entry numbers are valid until
 * the next change of the destination.
 */
struct dest_tail_peer {
	uint16_t peer;
	_Atomic uint16_t epoch;
};
struct dest_tail {
	const struct dest_tail_peer *peers; /* of the entries */
	uint64_t peer_mask; /* a bit for peer % 64 of each entry */
	unsigned entries, paths; /* entries may be empty */
	bool med; /* a path may have PATH_MED */
	uint32_t *front_key; /* of the caller; 0 after each change of the first paths */
};
#define DEST_NO_PATH UINT32_MAX
struct dest_tail dest_tail_of(const struct dest_table *t, struct dest_id id) RUNS_ON(role_rib);
/* The path of a tail entry; false: the entry is empty. */
bool dest_tail_path(const struct dest_table *t, struct dest_id id, unsigned entry,
	struct rib_path *out) RUNS_ON(role_rib);
/* Index of the peer's path in the tail, for dest_stamp() and dest_edit; DEST_NO_PATH: none. */
unsigned dest_tail_find(const struct dest_table *t, struct dest_id id, struct peer_id peer,
	struct rib_path *out) RUNS_ON(role_rib);
/*
 * Owner. A change of one path, without a look at the other paths. The caller knows the place.
 * dest_edit_begin(): 0, -ENOMEM; -ENOTSUP if the change needs a set by dest_publish(): paths that
 * are not common, the last path of a destination. No reader sees a difference before
 * dest_edit_end(), which must follow; `sequence` as of dest_publish().
 */
#define DEST_BEHIND (UINT32_MAX - 1)
struct dest_edit {
	unsigned remove; /* index; DEST_NO_PATH: none */
	/* index among the first paths after the removal, DEST_BEHIND: the tail, or DEST_NO_PATH */
	unsigned insert;
	unsigned multipath; /* afterwards */
	struct rib_path path; /* to insert */
};
struct dest_change {
	uint64_t word, body;
	uint32_t time_s;
	unsigned fill, hole;
	int paths;
	uint16_t epoch, holes;
};
int dest_edit_begin(struct dest_table *t, struct dest_id id, const struct dest_edit *e,
	struct dest_change *c) RUNS_ON(role_rib);
void dest_edit_end(struct dest_table *t, struct dest_id id, const struct dest_change *c,
	uint64_t sequence) RUNS_ON(role_rib);
struct path_set *path_set_alloc(struct dest_table *t, unsigned count) RUNS_ON(role_rib);
/*
 * Owner, once a loop and now and then when idle. Starts the grace period of tombstones whose last
 * change is before `safe_sequence`; frees ids, sets and segments whose grace period has elapsed;
 * continues the growth or shrinking of the index. A bounded step; true if more is due.
 */
bool dest_reclaim(struct dest_table *t, uint64_t safe_sequence) RUNS_ON(role_rib);
/* Owner. True if dest_reclaim() has nothing to do until the next change, whatever cursors do. */
bool dest_at_rest(const struct dest_table *t);
/*
 * Owner. True if much memory waits to be freed: without dest_reclaim(), dest_publish() will soon
 * have to free all of the backlog.
 */
bool dest_behind(const struct dest_table *t) RUNS_ON(role_rib);

/*
 * Readers and the owner: ids are 0 to dest_limit() - 1, with gaps of free ids. The limit falls when
 * the last destinations go.
 */
uint32_t dest_limit(const struct dest_table *t);
/* Owner. True, with the prefix of `id`, if the paths of `id` have `identity` (not 0). */
bool dest_identical(
	const struct dest_table *t, struct dest_id id, uint64_t identity, struct prefix *prefix);
/*
 * A hint: `id` and the id before share their path set, or both have no paths, so a prefetch for the
 * first serves both.
 */
bool dest_like_last(const struct dest_table *t, struct dest_id id);
/* A hint: both destinations share their path set, or have no paths. Any ids; free ids have none. */
bool dest_alike(const struct dest_table *t, struct dest_id a, struct dest_id b);
/*
 * False: the id is free. All paths, or of a set of more than PATHS_PACKED_MAX common paths the
 * first PATHS_PACKED_MAX or fewer: all paths that forward, and backups.
 */
bool dest_peek(const struct dest_table *t, struct dest_id id, struct dest_view *out);
/* As dest_peek(), for the first path alone. */
bool dest_peek_best(const struct dest_table *t, struct dest_id id, struct dest_view *out);
/*
 * As dest_peek(), for all paths: the paths behind the front follow in no order, eligible paths
 * first, rejected paths last. `room` has room for `size` paths. The view stays as of dest_peek() if
 * `size` is below paths->count + behind.
 */
bool dest_peek_all(const struct dest_table *t, struct dest_id id, struct dest_view *out,
	struct path_set *room, unsigned size);
/* True if the peer has an eligible path. */
bool dest_offers(const struct dest_table *t, struct dest_id id, struct peer_id peer);
/* Exact match; .v == DEST_NONE if there is no destination. */
struct dest_id dest_find_rd(const struct dest_table *t, struct vpn_rd rd, const struct prefix *p);
/* dest_find_rd() for the distinguisher 0. */
struct dest_id dest_find(const struct dest_table *t, const struct prefix *p);
/*
 * Longest match among destinations with eligible paths and the distinguisher 0, with one probe per
 * prefix length in use; DEST_NONE if there is no match.
 */
struct dest_id dest_longest(
	const struct dest_table *t, const struct ip_addr *a, struct dest_view *out);
/* Owner. True if `id` is the destination of (rd, p). Any value of `id` is safe. */
bool dest_is(
	const struct dest_table *t, struct dest_id id, struct vpn_rd rd, const struct prefix *p);
/* For batches, the first stage: prefetches the index line of a key, by dest_key_hash(). */
void dest_prefetch(const struct dest_table *t, uint64_t hash);
/* The second stage: a guess of dest_find() from the index alone; prefetches the destination. */
struct dest_id dest_hint(const struct dest_table *t, uint64_t hash);
/* Prefetches a destination. Any value of `id` is safe. */
void dest_prefetch_id(const struct dest_table *t, struct dest_id id);
/* For walks, after dest_prefetch_id(): prefetches the path set. */
void dest_prefetch_paths(const struct dest_table *t, struct dest_id id);
/*
 * The owner, after dest_prefetch_paths(): prefetches the places of the next path behind the first
 * paths. Without paths behind, returns the attribute sets of the paths, for prefetching.
 */
unsigned dest_hint_rivals(const struct dest_table *t, struct dest_id id,
	struct attr_id set[PATHS_PACKED_MAX]) RUNS_ON(role_rib);
/* The prefix of `id`, for prefetching. False if `id` is free. */
bool dest_hint_prefix(const struct dest_table *t, struct dest_id id, struct prefix *out);
/*
 * The attribute set of the first path, for prefetching (of a rejected path maybe the received set);
 * 0 without a path. After dest_prefetch_paths().
 */
struct attr_id dest_hint_best(const struct dest_table *t, struct dest_id id);

/* Any thread. */
/* destinations with at least one path, including rejected paths that are kept */
uint32_t dest_count(const struct dest_table *t);
/* paths, including rejected paths that are kept */
uint32_t dest_path_count(const struct dest_table *t);
uint32_t dest_tombstones(const struct dest_table *t);
size_t dest_table_bytes(const struct dest_table *t);
const struct hash_probes *dest_table_probes(const struct dest_table *t); /* of dest_get() */
