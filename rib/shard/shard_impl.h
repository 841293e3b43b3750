/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Declarations shared by the files of the shard. The thread of the shard owns everything here,
 * except where a comment names readers.
 *
 * shard.c: life cycle, inputs, tables, peers, the loop
 * shard_import.c: records of a batch: validation, loops, policy; one verdict for many prefixes
 * shard_paths.c: new path set of a destination: edit, decide, publish, journal; its parts are
 *   shard_make.c, shard_rank.c, shard_one_path.c and shard_publish.c (shard_paths_impl.h)
 * shard_refused.c: counts of refused routes by peer and cause
 * shard_next_hops.c: (vrf, address) -> state
 * shard_tombstones.c: limit of tombstones that wait for a late consumer
 * shard_walks.c: one circulating scan per table for flushes, sweeps, evaluations and replays
 * shard_replay.c: keep_all_routes: evaluates kept routes by the current policy
 * shard_leak.c: routes between VPN tables and instances; its parts are shard_leak_instances.c,
 *   shard_leak_apply.c and shard_leak_scan.c (shard_leak_impl.h)
 * shard_trace.c: events of traces
 * shard_history.c: records of changes
 */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/ring.h"
#include "rib/shard/history.h"
#include "rib/shard/shard.h"
#include "rib/shard/walk.h"

#define SHARD_LABEL_NONE RIB_LABEL_NONE
#define NEAR_AS_ANY UINT32_MAX

/* ---- next hops ---- */

struct shard_next_hop {
	struct ip_addr addr; /* immutable, as vrf */
	struct vrf_id vrf;
	bool up, connected; /* false until answered */
	/* equals next_hops.dirty while a running walk evaluates the paths of this next hop */
	uint32_t dirty;
	bool watched; /* the fib thread was asked and reports changes */
	bool idle; /* had no users at the last visit of next_hops_tidy() */
	uint32_t users; /* paths, and the current record */
	uint32_t slot; /* in next_hops.entry */
	_Atomic uint32_t metric; /* readers: shard_decision_input */
	uint8_t own_count;
	struct nexthop_own *own; /* see struct nexthop_message; NULL: none */
	struct shard_next_hop *dropped_next;
};

/*
 * Open addressing, at most 3/4 full. Entries are never removed in place, so readers probe without a
 * lock.
 */
struct next_hop_index {
	struct arena *arena;
	struct shard_next_hop *dropped; /* entries to free with this index */
	uint32_t size; /* power of two */
	_Atomic(struct shard_next_hop *) at[];
};

struct shard_next_hops {
	_Atomic(struct next_hop_index *) index;
	struct shard_next_hop **entry; /* by slot; 0 stays empty */
	uint32_t entry_size, entry_free; /* entry_free: where the search for an empty slot begins */
	uint32_t count;
	uint32_t owns; /* entries with `own` */
	/* number of the current evaluation walk, from 1; increases when no walk runs */
	uint32_t dirty;
	uint32_t tidy_at; /* next slot to check */
	uint64_t tidy_ns; /* start of this lap */
	bool owed; /* a next hop in use may not be watched: the question could not be sent */
	struct hash_probes probes; /* of insertions */
	/*
	 * attribute set id -> what the decision needs, for VRF_DEFAULT only: spares a walk, and the
	 * rank of a path, two cache misses a path
	 */
	struct shard_of_attr {
		uint32_t slot;
		uint32_t key; /* decision_attr_key() */
	} * of_attr;
	uint32_t of_attr_size;
};

/* ---- peers ---- */

/* A place in the endless sequence of laps over a table's ids. */
struct shard_position {
	uint64_t lap;
	uint32_t next;
};

/* State of a (peer, family). The table is (vrf of the peer, family). */
struct shard_rib_in {
	struct adj_rib_in counts; /* readers: relaxed */
	const struct policy *import;
	uint16_t import_name; /* history_policy() of `import` */
	/*
	 * While `sweeping`, paths with a stamp before sweep_below are doomed. Paths before
	 * flush_below belong to a lost session; the rest were not announced again in a refresh and
	 * count as swept.
	 */
	uint16_t sweep_below, flush_below;
	bool sweeping;
	bool long_lived; /* retained paths are in the long-lived phase (RFC 9494) */
	/*
	 * The id after the last announced destination. Ids follow the order in which prefixes first
	 * arrive. A peer that announces a table again, or the table of another peer, mostly uses
	 * the same order; then no index lookup is needed.
	 */
	struct dest_id next;
	bool in_order; /* the last announced destination was `next` */
	_Atomic(struct shard_refused *) refused; /* NULL until the first refusal; never freed */
	/* The peer's router id or kind changed while paths of the old session were there: an equal
	 * path is ranked again. */
	bool rerank;
	struct shard_position from;
	struct shard_rib_in *sweep_next; /* in shard_table.sweeps */
	/*
	 * keep_all_routes. `keeps` lists the families with a replay, or with kept routes to drop.
	 */
	bool keep, replaying, dropping;
	/* keep was turned off during a replay, the last replay: evaluate, then drop kept routes */
	bool drops_then;
	bool keeps_listed;
	uint64_t replays; /* asked for */
	/* the replay evaluates only prefixes that s->changed covers */
	bool only_changed;
	uint32_t context; /* identifies verdicts: unique per replay and policy */
	struct shard_position replay_from, drop_from;
	struct shard_rib_in *keeps_next; /* in shard_table.keeps */
	/*
	 * Member of a plan, with routes not yet evaluated by the new rules; the generation mark for
	 * changed paths, shifted into place.
	 */
	bool planned;
	bool supplies; /* with `planned`: may have a path that the old rules refused */
	uint32_t generation_flags;
};

/* Refusal counts of a (peer, family). Readers: main. */
struct shard_refused {
	struct shard_refused *next; /* in shard.refused_counts */
	_Atomic uint64_t count[REFUSED_CAUSES];
};

struct shard_peer_slot {
	/* readers; NULL: free. Immutable except for the next three fields */
	_Atomic(struct shard_peer *) key;
	_Atomic uint32_t router_id, asn; /* as reported by the session */
	_Atomic bool external;
	bool up;
	bool refreshes; /* struct rib_session_up */
	bool evicted; /* shard_peer_evict() */
	/* bytes of attribute sets charged to an earlier peer with this id */
	_Atomic size_t charged_before;
	struct shard_rib_in rib[FAMILY_COUNT];
};

/* ---- tables ---- */

struct shard_table {
	struct dest_table *dests; /* immutable, as vrf, family and id */
	struct vrf_id vrf;
	enum family family;
	struct table_id id;
	/* The circulating scan: runs while there are sweeps, or next hops to re-decide. */
	struct walk walk;
	uint64_t lap;
	bool walking;
	bool redecide;
	/* with redecide: every destination, not only destinations with a dirty next hop */
	bool rank_all;
	struct shard_position redecide_from;
	/*
	 * The plan: number of unfinished (peer, family) members, of the members that supply, and of
	 * held paths, and the walk that drops paths no longer held.
	 */
	unsigned planned, suppliers;
	uint64_t held;
	bool releasing;
	struct shard_position release_from;
	/* a long-lived phase has begun: the walk marks the paths */
	bool ageing;
	struct shard_position age_from;
	struct shard_rib_in *sweeps;
	struct shard_rib_in *keeps;
	/*
	 * the FIB has reported a lack of room at least once: some destinations may not be installed
	 */
	bool fib_short;
	/* shard_leak.c */
	enum leak_kind {
		LEAK_NOTHING,
		LEAK_VPN, /* paths are imported into instances */
		LEAK_OWN, /* of an instance: own paths are exported */
	} leak;
	struct shard_rib_in imports; /* of the imported paths, in the place of that of their peer */
	unsigned locals; /* imported paths from a local instance */
	unsigned crowds; /* destinations with changes that wait (shard_leak_crowd.c) */
	/* Removed: the table goes when all cursors have passed its last entry, as its tombstones do. */
	bool leaving;
};

#define TABLE_WORDS (SHARD_TABLES_MAX / 64) /* words of a bitmap of tables */

/* True if replays are the only job of the scan. */
static inline bool
replays_alone(const struct shard_table *t)
{
	return t->keeps != NULL && t->sweeps == NULL && !t->redecide && !t->releasing && !t->ageing;
}

/*
 * True if paths of the table may be held. With a single peer in the plan there is no replacement to
 * wait for.
 */
static inline bool
table_holds(const struct shard_table *t)
{
	return (t->planned > 1 && t->suppliers > 0) || t->held > 0;
}

/*
 * True if a refused path of this (peer, family) may stay in use: another member of the plan supplies,
 * and is unfinished.
 */
static inline bool
rib_in_holds(const struct shard_table *t, const struct shard_rib_in *r)
{
	return t->suppliers > (r->supplies ? 1u : 0u);
}

/* ---- the current record ---- */

struct shard_accepted {
	struct attr_id id; /* one reference is held during the record; .v == 0: rejected */
	struct attr_id received; /* .v == 0: not kept; the record holds the reference */
	struct shard_next_hop *next_hop; /* with one user held; NULL: not tracked */
	/*
	 * label_flags of the paths: PATH_NEXT_HOP_UP, source of an own route, PATH_REJECTED with
	 * reason
	 */
	uint32_t flags;
	uint64_t outcome; /* of the policy; in shard.accepted */
};

enum import_result {
	REFUSE_ALL,
	ACCEPT_ALL,
	ASK_POLICY,
};

/* ---- replay ---- */

/*
 * Verdict for a received set in a context. 32 bytes, indexed by set id; allocated as sets are
 * evaluated.
 */
struct shard_verdict {
	uint64_t could; /* struct policy_digest */
	uint32_t set, serial, context; /* key of the verdict; set 0: empty */
	uint32_t accepted, accepted_serial; /* result of `outcome`; accepted 0: unknown */
	uint8_t kind; /* enum verdict_kind */
	uint8_t reason;
	uint8_t outcome;
	uint8_t unused;
};
static_assert(
	sizeof(struct shard_verdict) == 32, "6 MB for a full table's sets, while it is replayed");

#define EFFORT_SPENT (UINT32_MAX / 2)

/* ---- history ---- */

/* How a change moves the best path of a destination; PEER_MAX: no best path. */
struct shard_best {
	struct peer_id before, after;
	bool moved; /* the best path is a different path */
	enum decision_reason reason; /* why the path before loses; DECISION_EQUAL: it is gone */
};

/* A change of a destination. s->take and s->drop have the added and the removed paths. */
struct shard_change {
	unsigned take, drop;
	unsigned doomed; /* the first of `drop`: removed by a sweep */
	bool differs; /* the change affects readers of the journal */
	bool aside; /* but no reader of best paths alone */
	bool own; /* paths may have changed that are not imported */
	struct shard_best best;
};

#define VERDICT_SEGMENT_BITS 12
#define VERDICT_SEGMENTS 256u

/* A path of the last evaluated destination. */
struct shard_result {
	struct attr_id wanted; /* .v == 0: refuse the path, or not evaluated */
	/*
	 * policy that matches on the prefix (NULL: no policy does) and its decision; could 0: from
	 * the whole policy
	 */
	const struct policy *policy;
	uint64_t could; /* struct policy_digest */
	struct policy_decision decision;
};

struct shard_replay {
	/*
	 * The next destination gets the same result if the paths are equal and policies decide
	 * equally for its prefix.
	 */
	uint64_t results_identity; /* from struct dest_view; 0: result[] is incomplete */
	bool results_differ;
	unsigned results_count;
	struct shard_result result[PATHS_PACKED_MAX];
	/* within a run of paths each set is evaluated once; no run between slices */
	const struct shard_rib_in *run_rib;
	uint32_t run_set;
	bool run_begun; /* s->eval is set up for the run */
	bool covered; /* s->changed covers the current destination */
	unsigned fills; /* of verdicts */
	uint64_t deadline_ns; /* of the slice */
	uint32_t contexts;
	/* allocated on demand, freed after the last replay */
	struct shard_verdict *segment[VERDICT_SEGMENTS];
	struct shard_verdict spare; /* used when allocation fails */
};

/*
 * Result of the last destination within a record or a slice. The next destination usually had the
 * same paths, as prefixes of one UPDATE do; then ranking is skipped and both share the published
 * set. The paths are in `take` and `drop`.
 */
struct shard_reuse {
	struct shard_table *table; /* NULL: no result */
	struct dest_ref before, after;
	struct peer_id peer; /* of the edit */
	uint32_t path_id, label, flags;
	struct attr_id accepted, received;
	/* edit: from a record, not from the scan; announce: not a withdrawal */
	bool edit, announce;
	bool refused; /* by policy, of a withdrawal */
	struct shard_change change;
	unsigned paths; /* number of paths before; the sets wanted by replays of the scan */
	struct attr_id wanted[PATHS_PACKED_MAX];
	bool restamped; /* only the stamp of a path changed; stamp: the old value */
	uint16_t stamp;
	uint32_t runs; /* destinations with the result that reuse_count() did not count yet */
	/* wait[]: change of one destination in the counts of paths without a valid next hop */
	unsigned waits;
	struct shard_wait {
		struct peer_id peer;
		int8_t by;
	} wait[2 * PATHS_PACKED_MAX];
};

struct shard_input {
	struct ring *full; /* session -> shard */
	struct ring *empty; /* shard -> session */
	/* records done, by the shard; readers: the session thread and siblings */
	alignas(CACHE_LINE) _Atomic uint64_t records;
	/*
	 * bitmap of siblings that wait for records: each sibling sets its bit, the shard clears all
	 * bits
	 */
	_Atomic uint32_t awaited;
	/* the shard: lower bounds of the records done by siblings */
	alignas(CACHE_LINE) uint64_t seen[SHARDS_MAX];
	/*
	 * the session thread: unused batches, the last used on top; NULL in `all`: not allocated,
	 * or freed
	 */
	alignas(CACHE_LINE) struct rib_batch *spare[RIB_BATCHES_PER_INPUT];
	unsigned spare_count;
	unsigned spare_low; /* the fewest since shard_input_tidy() */
	uint64_t put_records; /* up to the end of the last batch */
	struct arena *arena;
	struct rib_batch *all[RIB_BATCHES_PER_INPUT];
};

/*
 * The first prefixes of a record, read while the shard works on earlier records, so that their index
 * lines and destinations are in the caches.
 */
#define AHEAD_NLRI 32u
struct shard_ahead {
	const struct rib_record *rec; /* NULL: empty */
	unsigned first, count; /* of the record's prefixes */
	bool guessed; /* guess[] is valid, and the destinations are prefetched */
	struct rib_nlri_reader rest; /* the prefixes that follow */
	struct rib_nlri nlri[AHEAD_NLRI];
	struct dest_id guess[AHEAD_NLRI];
};
#define AHEAD_RECORDS 5u /* the current record and four more */

/* Position of the shard in its input; a slice may end within a record. */
struct shard_cursor {
	struct shard_ahead ahead[AHEAD_RECORDS]; /* of the current batch, used in turn */
	unsigned ahead_at; /* of the current record */
	struct shard_input *input;
	struct rib_batch *batch; /* NULL: between batches */
	unsigned input_index;
	uint32_t offset; /* of the record */
	uint32_t nlri; /* prefixes done */
	uint64_t record; /* number of the current record */
	bool published; /* waiting siblings know the progress */
	bool behind; /* siblings may not have done the records that this record comes after */
	bool blocked; /* and the record waits for those siblings */
	unsigned turn; /* input to ask next */
};

/*
 * Journal entries from `first` on come from messages read at `received_ns` (0: from no message).
 * Readers probe the samples.
 */
struct shard_sample {
	_Atomic uint64_t first, received_ns;
};
#define SHARD_SAMPLES (1u << 15)
/*
 * Messages read within this time share a sample, so the ring covers at least 6.5 s of full load and
 * a result is too high by at most this time.
 */
#define SHARD_SAMPLE_NS 200000u

/* Position of the slowest paced consumer, and the time of the last progress. */
struct shard_pace {
	uint64_t position, since_ns;
	uint64_t walked_ns; /* the last slice of a walk */
	bool waits; /* all remaining work waits for the consumer */
};

/* The cursor that holds tombstones back, and since when at this position. */
struct shard_late {
	struct journal_holder holder;
	uint64_t since_ns;
	bool given_up;
	bool pressed; /* journal_press() */
	bool waits; /* input waits until the cursor advances */
	uint64_t woken_ns; /* last wake-up of the consumers */
};

struct shard {
	struct shard_config config;
	struct arena *arena;
	struct attr_table *attrs;
	struct journal *journal;
	struct policy_eval *eval;
	struct attr_set *aged; /* for path_age(): ATTR_SET_MAX + 4; NULL: never used */
	struct attr_set *unpacked; /* ATTR_SET_MAX: the input of `eval` */
	struct retire_list *retired;
	uint64_t now_ns; /* of the turn */
	uint64_t entries; /* journal entries written by this shard */
	uint8_t bulk; /* of the current changes: enum shard_bulk; 0: live */
	/*
	 * value of `entries` at the last wake-up of consumers; each shard wakes consumers for its
	 * own entries
	 */
	uint64_t woken;
	uint64_t journal_tidied_ns;
	struct shard_cursor cursor;
	unsigned input_count;
	struct shard_input *input[SHARD_INPUTS_MAX];

	struct trace_tap *tap; /* NULL: no trace */
	struct path_ring *changes; /* NULL: no BMP collector */
	struct history *history;
	uint32_t history_left; /* records of whole tables until history_until_ns */
	uint64_t history_until_ns;
	/* of the announcement that is being refused; REFUSED_NOT: none */
	enum refused_cause refusing;
	uint32_t refusing_node;
	/* the last verdict in the trace: a prefix that waits for other shards has one verdict */
	struct shard_traced {
		uint64_t record;
		uint32_t nlri;
		unsigned input;
		enum refused_cause cause;
	} traced;
	/* the current record, for the events of changes that it causes; NULL: other changes */
	const struct rib_record *cause;

	/* the record's verdicts by policy_outcome_place() */
	uint64_t accepted_filled;
	struct shard_accepted accepted[POLICY_OUTCOMES_MAX];
	struct shard_replay replay;
	/* Origin validation: the set in use; NULL: no VRP. */
	struct vrps *vrps;
	struct vrps *changed; /* with `revalidating` > 0: the changed records; NULL: all prefixes */
	_Atomic uint64_t revalidating; /* number of struct shard_rib_in with only_changed */
	static_assert(POLICY_OUTCOMES_MAX <= 64, "one bit each in accepted_filled");

	/* scratch of shard_make.c: room for `scratch_size` paths */
	uint32_t scratch_size;
	struct rib_path *keep, *refused, *take, *drop;
	struct path_set *all; /* of dest_expand(): room for `all_size` paths */
	unsigned all_size;
	struct decision_input *in;
	unsigned *order;
	unsigned multipath; /* of `order` */
	uint16_t import_share[PEER_MAX]; /* imported paths of a destination, by owner */
	uint16_t import_owner[PEER_MAX]; /* a peer; of dynamic peers of a group the first */
	bool import_owners; /* these are known */
	struct shard_reuse reuse;
	/* the next prefix of the record had other paths: the result will not be used again */
	bool alone;
	struct dest_id hint; /* maybe the destination of the current prefix; any value is safe */
	uint32_t effort; /* paths ranked since the last look at the clock; EFFORT_SPENT: look now */

	struct shard_cost {
		_Atomic uint32_t mean_ns[FAMILY_COUNT]; /* of a prefix */
		/* since the last change of the mean: prefixes, and their time */
		unsigned prefixes[FAMILY_COUNT];
		uint64_t ns[FAMILY_COUNT];
		enum family family, leaks; /* of the present work; of leaks: the last VPN family */
		bool owes; /* since the last prefix of `leaks` each turn began with leaks */
		uint64_t since_ns;
	} cost;

	_Atomic(struct shard_leak *) leak; /* NULL: there was no VPN instance yet */
	bool vpn_imported_only; /* shard_vpn_imported_only() */
	struct shard_next_hops next_hops;
	struct shard_late late;
	struct shard_pace pace;
	_Atomic uint64_t evictions;
	/* when the current record began to wait for memory; 0: no record waits */
	uint64_t short_since_ns;
	_Atomic uint64_t held; /* of all tables */
	unsigned walk_turn;
	_Atomic uint32_t cluster_id; /* of the config, for any thread */
	struct shard_refused *refused_counts; /* a list that only grows */
	/* A bit a peer: shard_ailing(). 512 bytes a family. */
	_Atomic uint64_t ailing[FAMILY_COUNT][PEER_WORDS];
	_Atomic(struct refused_ring *) refused_ring; /* NULL: no refusal yet, or no memory */
	_Atomic uint64_t failures; /* changes lost for lack of memory, and invalid records */

	_Atomic unsigned table_count;
	/* by id; readers; NULL: not in use. A removed table stays until no reader needs it. */
	_Atomic(struct shard_table *) table[SHARD_TABLES_MAX];
	_Atomic uint16_t table_of[SHARD_VRFS_MAX][FAMILY_COUNT]; /* id + 1; 0: no table */
	/* Tables for which dest_reclaim() may have work, and tables with a walk: bits by id. */
	uint64_t stirred[TABLE_WORDS], walking[TABLE_WORDS];
	_Atomic(struct shard_peer_slot *) peer[PEER_MAX];
	/*
	 * The neighbour AS of all accepted paths of the peer; 0: no path yet; NEAR_AS_ANY: paths may
	 * have different neighbour ASes. Tells groups of MED apart without a look at attribute
	 * sets. near_mask: of the other peers that may have a path of the same neighbour AS, a bit
	 * for peer % 64; valid if near_mask_of equals near_changes.
	 */
	uint32_t near_as[PEER_MAX];
	uint64_t near_mask[PEER_MAX];
	uint32_t near_mask_of[PEER_MAX];
	uint32_t near_changes; /* from 1 */

	_Atomic uint64_t sample_count; /* ever; the newest is at (count - 1) % SHARD_SAMPLES */
	struct shard_sample sample[SHARD_SAMPLES];
};

static inline uint64_t
shard_load(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* Single writer: no locked instruction. */
static inline void
shard_count(_Atomic uint64_t *c, int64_t by)
{
	atomic_store_explicit(c, shard_load(c) + (uint64_t)by, memory_order_relaxed);
}

static inline uint16_t
shard_epoch(const struct shard_rib_in *r)
{
	return atomic_load_explicit(&r->counts.epoch, memory_order_relaxed);
}

/* Is stamp `a` older than `b`? */
static inline bool
shard_epoch_before(uint16_t a, uint16_t b)
{
	return (int16_t)(uint16_t)(a - b) < 0;
}

/* True if the running replays evaluate the paths of this (peer, family) at this destination. */
static inline bool
replay_evaluates(const struct shard *s, const struct shard_rib_in *r)
{
	return r->replaying && (!r->only_changed || s->replay.covered);
}

static inline bool
is_of(const struct rib_path *p, struct peer_id peer, uint32_t path_id)
{
	return p->peer.v == peer.v && p->path_id == path_id;
}

/* The AS number in the OPEN of the peer: a dynamic peer has no other. */
static inline uint32_t
asn_of(const struct shard_peer_slot *slot)
{
	return atomic_load_explicit(&slot->asn, memory_order_relaxed);
}

static inline bool
is_imported(const struct rib_path *p)
{
	return (p->label_flags & PATH_IMPORTED) != 0;
}

/* What tells paths of one peer apart: an imported path has the identity of its source, not a number of ours. */
void path_identity(const struct shard *s, const struct rib_path *p, struct decision_input *out);

static inline bool
is_refused(const struct rib_path *p)
{
	return (p->label_flags & PATH_REJECTED) != 0;
}

/* The VRF of the peer of an imported path. */
struct vrf_id imported_vrf(const struct shard *s, const struct rib_path *p);

/* The VRF in which the next hop of a path resolves: that of its peer. */
static inline struct vrf_id
path_vrf(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	return is_imported(p) ? imported_vrf(s, p) : t->vrf;
}

/* NULL: unknown peer. */
struct shard_peer_slot *shard_slot(const struct shard *s, struct peer_id id);

/* Epochs, counts and plan of a path. Imported paths have those of the table. */
static inline const struct shard_rib_in *
rib_of(const struct shard *s, const struct shard_table *t, const struct rib_path *p)
{
	return is_imported(p) ? &t->imports : &shard_slot(s, p->peer)->rib[t->family];
}

/* The table, about to change: dest_reclaim() follows. NULL: no table. */
struct shard_table *shard_table_of(struct shard *s, struct vrf_id vrf, enum family family);
struct shard_table *shard_table_of_peer(
	struct shard *s, const struct shard_peer_slot *slot, enum family family);

static inline struct shard_table *
shard_table_at(const struct shard *s, unsigned id)
{
	/* acquire: pairs with the release in shard_table_create */
	return atomic_load_explicit(&s->table[id], memory_order_acquire);
}

/* The next table of a bitmap, from id *at on; *at: behind the table. NULL: none is left. */
struct shard_table *shard_table_next(const struct shard *s, const uint64_t *bits, unsigned *at);

static inline void
table_bit_set(uint64_t *bits, struct table_id id, bool set)
{
	if (set)
		bits[id.v / 64] |= UINT64_C(1) << id.v % 64;
	else
		bits[id.v / 64] &= ~(UINT64_C(1) << id.v % 64);
}

/*
 * A step of dest_reclaim() for each table that changed since the table was last at rest. True if
 * more is due.
 */
bool tables_reclaim(struct shard *s, uint64_t safe_sequence) RUNS_ON(role_rib);

/* shard_next_hops.c */
int next_hops_init(struct shard *s);
void next_hops_fini(struct shard *s);
/*
 * The next hop of a set just interned in a table of `vrf`, whose decision_attr_key() is `key`, with one more user; asks the fib thread
 * about a new next hop. *out is NULL if the next hop is not tracked. 0, -ENOMEM.
 */
int next_hop_hold(struct shard *s, struct vrf_id vrf, struct attr_id attr, uint32_t key,
	const struct ip_addr *addr, struct shard_next_hop **out) RUNS_ON(role_rib);
/* The next hop of a path in a table of `vrf`. */
struct shard_next_hop *next_hop_of(
	const struct shard *s, struct vrf_id vrf, const struct rib_path *p) RUNS_ON(role_rib);
/* decision_attr_key() of the accepted set of a path in a table of `vrf`. */
uint32_t attr_key_of(const struct shard *s, struct vrf_id vrf, const struct rib_path *p)
	RUNS_ON(role_rib);
/* Prefetches for next_hop_of() of a path with this set. */
static inline void
next_hop_prefetch(const struct shard *s, struct attr_id set)
{
	if (set.v < s->next_hops.of_attr_size)
		__builtin_prefetch(&s->next_hops.of_attr[set.v]);
}
/*
 * The state of the next hop for paths of the prefix `p` in the table, if it differs from the state for
 * other paths; NULL: it does not, or `n` is NULL.
 */
const struct nexthop_own *next_hop_own(
	const struct shard_table *t, const struct prefix *p, const struct shard_next_hop *n);
/* `own`: of next_hop_own(). */
bool next_hop_eligible(const struct shard *s, const struct shard_peer_slot *slot,
	struct peer_id peer, const struct shard_next_hop *n, const struct nexthop_own *own);
/* True if next_hop_own() finds a state for a path of the destination. */
bool next_hops_own_any(const struct shard *s, const struct shard_table *t,
	const struct dest_view *view) RUNS_ON(role_rib);
/* Ends the watch of next hops without users for some seconds; a few per call. */
void next_hops_tidy(struct shard *s) RUNS_ON(role_rib);
void next_hops_clean(struct shard *s); /* no re-decision runs any more */
/* Any reader. */
struct shard_next_hop *next_hop_find(
	const struct shard *s, struct vrf_id vrf, const struct ip_addr *addr);

/*
 * shard_paths.c: 0, -ENOMEM; -EAGAIN: the change would withdraw a route and import_may_withdraw()
 * is false
 */
int path_announce(struct shard *s, struct shard_table *t, struct peer_id peer,
	const struct rib_nlri *n, const struct shard_accepted *acc) RUNS_ON(role_rib);
/*
 * `refused`: a withdrawal because import policy refuses an announcement without keep_all_routes;
 * the old path may be held. *there (NULL: not wanted): the peer had a path for the prefix.
 */
int path_withdraw(struct shard *s, struct shard_table *t, struct peer_id peer,
	const struct rib_nlri *n, bool refused, bool *there) RUNS_ON(role_rib);
/*
 * True if the peer has a path for the prefix that no sweep will remove: max_prefixes already counts
 * the path.
 */
bool path_counted(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	const struct rib_nlri *n) RUNS_ON(role_rib);
/* Looks again at a destination with paths behind the view, for all paths. 0, -ENOMEM. */
int dest_expand(struct shard *s, struct shard_table *t, struct dest_id id, struct dest_view *view)
	RUNS_ON(role_rib);
bool path_doomed(const struct shard *s, const struct shard_table *t, const struct rib_path *p);
/*
 * Drops doomed paths, replays kept paths (after replay_evaluate()), ranks all, and publishes a
 * changed set. 0, -ENOMEM.
 */
int dest_redecide(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view) RUNS_ON(role_rib);
/*
 * Sets or removes (`acc` NULL) an imported path, whose path id is the number of an origin. `label`:
 * of the source. 0, -ENOMEM.
 */
int path_import(struct shard *s, struct shard_table *t, struct peer_id peer, const struct prefix *p,
	uint32_t origin, uint32_t label, const struct shard_accepted *acc) RUNS_ON(role_rib);
/* The number of paths of a destination, at least; 0: none. */
unsigned path_count_of(const struct shard_table *t, const struct prefix *p) RUNS_ON(role_rib);
/* The path of path_import() with `acc`. */
void path_imported(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	uint32_t origin, uint32_t label, const struct shard_accepted *acc, struct rib_path *out)
	RUNS_ON(role_rib);
/* Copies the path of a peer. False: none. */
bool path_read(const struct shard_table *t, struct dest_id id, struct peer_id peer,
	uint32_t path_id, struct rib_path *out) RUNS_ON(role_rib);
/* The best eligible path that is not imported. 0; -ENOENT: none; -ENOMEM. */
int path_best_own(struct shard *s, struct shard_table *t, struct dest_id id, struct rib_path *out)
	RUNS_ON(role_rib);

/* shard_make.c */
/* True if the path is in the long-lived phase, perhaps without the community. */
bool path_ages(const struct shard *s, const struct shard_table *t, const struct rib_path *p);
void scratch_free(struct shard *s);

/* shard_rank.c */
/* Sets near_as of a peer. */
void near_as_set(struct shard *s, struct peer_id peer, uint32_t as);

/* shard_publish.c */
/*
 * References and counts of the destinations that took the last result since the last call. Call before a count for
 * max_prefixes of this shard is read; record_end() makes the counts known to the siblings.
 */
void reuse_count(struct shard *s) RUNS_ON(role_rib);
/* Ends the reuse of results: policies, peers, next hops or the time may have changed. */
void reuse_end(struct shard *s) RUNS_ON(role_rib);

/* shard_refused.c */
/*
 * Counts a refused prefix. `n` is remembered, with `node` (struct refused_route); NULL for a path
 * that is kept, because the path stores the reason.
 */
void refused_count(struct shard *s, struct peer_id peer, enum family family,
	enum refused_cause cause, const struct rib_nlri *n, uint32_t node) RUNS_ON(role_rib);
/* The peer withdraws a prefix for which it has no path: ends an earlier refusal. */
void refused_withdrawn(struct shard *s, struct peer_id peer, enum family family,
	const struct rib_nlri *n) RUNS_ON(role_rib);
/*
 * Adds `by` to the destinations whose best path is from that peer and that are not installed
 * (REFUSED_NOT_INSTALLED); not a rejected route.
 */
void refused_not_installed(struct shard *s, struct peer_id peer, enum family family, int by)
	RUNS_ON(role_rib);
/* The cause for a reason of the decision. */
enum refused_cause refused_of(enum decision_reason reason);
/*
 * Resets the counts for a new session, except REFUSED_NOT_INSTALLED, which counts stored paths.
 * Thread of the shard, or before the thread starts.
 */
void refused_reset(struct shard_rib_in *r);
/* Clears the bit of shard_ailing() when all counts are 0. */
void refused_settle(struct shard *s, struct peer_id peer, enum family family);
/* `by` more accepted paths of the peer have no valid next hop. */
void refused_waiting(struct shard *s, struct peer_id peer, enum family family, int64_t by)
	RUNS_ON(role_rib);
void refused_fini(struct shard *s);

/* shard_import.c */
/* One turn of input, until the deadline. True if more input is due. */
bool import_run(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);
/* Wakes the consumers of the journal, if entries were appended since the last wake-up. */
void consumers_wake(struct shard *s) RUNS_ON(role_rib);
/* `vrf`: in which the next hop resolves. `like`: as of attr_pack_like(), or NULL. */
int accepted_get(struct shard *s, struct vrf_id vrf, struct peer_id peer,
	const struct attr_packed *like, const struct attr_set *attrs, struct shard_accepted *out)
	RUNS_ON(role_rib);
/* As accepted_get(), for an interned set that may wait to be freed. */
int accepted_hold(struct shard *s, struct vrf_id vrf, struct peer_id peer, struct attr_id id,
	struct shard_accepted *out) RUNS_ON(role_rib);
void accepted_put(struct shard *s, struct shard_accepted *acc) RUNS_ON(role_rib);
/* The verdict of an outcome, or NULL. */
struct shard_accepted *accepted_find(struct shard *s, uint64_t outcome);
/*
 * An empty place for the verdict of an outcome; a verdict of another outcome is dropped from the
 * place.
 */
struct shard_accepted *accepted_place(struct shard *s, uint64_t outcome) RUNS_ON(role_rib);
/* The place holds the verdict from now on. */
void accepted_keep(struct shard *s, struct shard_accepted *acc, uint64_t outcome);
/* Drops the verdicts of s->accepted. */
void verdicts_end(struct shard *s) RUNS_ON(role_rib);
/* The part of a verdict that depends on no prefix and no policy node. *reason: with REFUSE_ALL. */
enum import_result import_evaluate(const struct shard *s, const struct shard_peer_slot *slot,
	enum family family, const struct attr_packed *attrs, enum decision_reason *reason);
void import_context(const struct shard *s, const struct shard_peer_slot *slot, enum family family,
	struct policy_context *out);
/* label_flags of a path rejected for `reason`. */
uint32_t refused_flags(enum decision_reason reason);
/* The reason in label_flags; DECISION_EQUAL if the path is not rejected. */
static inline enum decision_reason
flags_refused(uint32_t flags)
{
	if (!(flags & PATH_REJECTED))
		return DECISION_EQUAL;
	return (enum decision_reason)(DECISION_AS_LOOP + (flags >> PATH_SOURCE_SHIFT & 0xf));
}
/* True for reasons of policy (not loops): another policy may accept the route. */
bool reason_is_policy(enum decision_reason reason);
void shard_sample_add(struct shard *s, uint64_t received_ns) RUNS_ON(role_rib);
/*
 * True if the current record may withdraw routes. False until siblings have advanced, which then
 * wake this shard.
 */
bool import_may_withdraw(struct shard *s) RUNS_ON(role_rib);

/* shard_leak.c, and its parts */
/*
 * Room for `n` items of the list, before a change of a destination is published: one for each path
 * that is added or removed. 0, -ENOMEM.
 */
int leak_list_room(struct shard *s, unsigned n) RUNS_ON(role_rib);

static inline int
leak_room(struct shard *s, const struct shard_table *t, unsigned n) RUNS_ON(role_rib)
{
	return t->leak == LEAK_NOTHING ? 0 : leak_list_room(s, n);
}

/* A published change, with references on the sets of both lists. */
void leak_changed(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct shard_change *c) RUNS_ON(role_rib);
/* False: the path of that peer is not stored, because no instance imports the accepted set. */
bool leak_stores(struct shard *s, const struct shard_table *t, const struct shard_peer_slot *slot,
	struct attr_id accepted) RUNS_ON(role_rib);
/* An imported path was added (by 1) or removed (by -1). */
void leak_path_counts(struct shard *s, struct shard_table *t, const struct rib_path *p, int by);
/* Sets t->leak. */
void leak_table_mark(struct shard *s, struct shard_table *t);
/* A peer has another group: instances whose policies ask for groups judge all routes again. */
void leak_group_changed(struct shard *s) RUNS_ON(role_rib);
/* The time since the last call was work for UPDATEs of shard_cost.family; work for `family` follows. */
void shard_cost_of(struct shard *s, enum family family) RUNS_ON(role_rib);
bool leak_pending(const struct shard *s); /* the list has items */
/* shard_config.crowd by default */
#define CROWD 64u
bool leak_waits(const struct shard *s); /* imported paths of crowded destinations wait */
bool leak_waits_of(const struct shard *s, struct peer_id peer); /* with paths of the peer */
/* Applies the list until the deadline. True if items are left. */
bool leak_list_run(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);

static inline bool
leak_run(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	return atomic_load_explicit(&s->leak, memory_order_relaxed) != NULL &&
	       leak_list_run(s, deadline_ns);
}

/* With an empty list: slices of the scans and of the fill. True if more is due. */
bool leak_scan(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);
bool leak_scans_pending(const struct shard *s);
void leak_fini(struct shard *s);

/* shard_walks.c */
/* True if walks wait until the consumers of the journal have read more. */
bool walks_ahead(struct shard *s) RUNS_ON(role_rib);
/* The paths of `r` are in the long-lived phase (RFC 9494). */
void age_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r) RUNS_ON(role_rib);
/* Dooms paths with a stamp before `below`; `lost`: paths of a lost session. */
void sweep_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r, uint16_t below,
	bool lost) RUNS_ON(role_rib);
/* Evaluates paths of this vrf with dirty next hops. */
void redecide_start(struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/* Ranks all destinations of this vrf again. */
void rank_all_start(struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/* Drops held paths for which no plan member is pending. */
void release_start(struct shard *s, struct shard_table *t) RUNS_ON(role_rib);
/* Evaluates, or drops, the kept routes of `r`. */
void replay_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r) RUNS_ON(role_rib);
void drop_kept_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r)
	RUNS_ON(role_rib);
bool walks_pending(const struct shard *s);
/* True if a pending walk may run: with `hold`, a walk that makes no tombstones. */
bool walks_possible(const struct shard *s, bool hold);
/*
 * At least one slice, then until the deadline; no sweeps while `hold`, and no walks while consumers
 * have much to read. True if more is due.
 */
bool walks_run(struct shard *s, uint64_t deadline_ns, bool hold) RUNS_ON(role_rib);

/* shard_replay.c */
/*
 * Evaluates kept paths of the destination and notes the results: 1 if a path changes, 0 if none
 * changes, -ENOMEM.
 */
int replay_evaluate(struct shard *s, struct shard_table *t, const struct dest_view *view)
	RUNS_ON(role_rib);
/*
 * Updates `p`, a copy of a path of that prefix, to the noted result. *gone: drop the path.
 * References are held until replay_slice_end(). 0, 1 if the path changed, -ENOMEM.
 */
int replay_path(struct shard *s, struct shard_table *t, const struct prefix *prefix,
	struct rib_path *p, bool *gone) RUNS_ON(role_rib);
/* True if the destination equals the last, which did not change. */
bool replay_unchanged(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib);
void replay_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib);
void replay_slice_end(struct shard *s) RUNS_ON(role_rib);
/* No replay runs any more. */
void replay_forget(struct shard *s);

/* shard_trace.c; only with s->tap */
/* A verdict on an announcement of the record; `policy` NULL: no policy ran. */
void trace_verdict(struct shard *s, const struct shard_table *t, const struct rib_nlri *n,
	enum refused_cause cause, const struct policy *policy, uint32_t node) RUNS_ON(role_rib);
/* A published change, with its journal entry. */
void trace_decision(struct shard *s, const struct shard_table *t, struct dest_id id,
	uint64_t sequence) RUNS_ON(role_rib);

/* Puts the peers of s->take and s->drop into s->changes, which is not NULL. */
void changes_put(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct shard_change *c) RUNS_ON(role_rib);

/* shard_history.c */
/* The path that a message or a command edits. */
struct shard_edit {
	struct peer_id peer;
	uint32_t path_id;
};
/*
 * True if a published change gets records: not the added paths of a whole table, unless they replace
 * the best path.
 */
static inline bool
history_wants(const struct shard *s, const struct shard_change *c)
{
	return c->drop > 0 || (c->take > 0 && !(s->bulk & BULK_TABLE)) ||
	       (c->best.moved && (c->take == 0 || c->best.before.v != PEER_MAX));
}
/* Takes one of the records of whole tables of the period. False: all are taken. */
bool history_budget(struct shard *s) RUNS_ON(role_rib);
/* Records a published change, with references on the sets of both lists. `e` NULL: by a walk. */
void history_changed(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct shard_edit *e, const struct shard_change *c) RUNS_ON(role_rib);

/* shard_tombstones.c */
/* Once a turn: reclaims, evicts. True if no tombstones may be made now. */
bool tombstones_hold(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);
