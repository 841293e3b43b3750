/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the shard share. Everything here is the shard thread's own unless a comment
 * names readers.
 *
 *   shard.c            life, inputs, tables, peers, the loop
 *   shard_import.c     records of a batch: validation, loops, policy, one verdict for many prefixes
 *   shard_paths.c      a destination's new path set: edit, decide, publish, journal
 *   shard_refused.c    what was refused, by peer and cause
 *   shard_next_hops.c  (vrf, address) -> state
 *   shard_tombstones.c how many may wait for a late consumer
 *   shard_walks.c      one circulating scan a table for every flush, sweep, re-decision and replay
 *   shard_replay.c     keep_all_routes: what a kept route is to be under the policy of now
 */
#pragma once

#include "lpm/arena.h"
#include "lpm/qsbr.h"
#include "lpm/ring.h"
#include "rib/shard.h"
#include "rib/walk.h"

#define SHARD_LABEL_NONE 0xfffffu

/* ---- next hops ---- */

struct shard_next_hop {
	struct ip_addr addr; /* immutable, as vrf */
	struct vrf_id vrf;
	bool up, connected; /* false until answered */
	uint32_t dirty; /* == next_hops.dirty: a running re-decision looks for its paths */
	bool watched; /* the fib thread was asked, and tells changes */
	bool idle; /* nobody used it when next_hops_tidy() last came by */
	uint32_t users; /* paths, and the record in work */
	uint32_t slot; /* in next_hops.entry */
	_Atomic uint32_t metric; /* readers: shard_decision_input */
	struct shard_next_hop *dropped_next;
};

/* Open addressing, at most 3/4 full, nothing removed in place: readers probe it without a lock. */
struct next_hop_index {
	struct arena *arena;
	struct shard_next_hop *dropped; /* entries that go with this index when it is retired */
	uint32_t size; /* a power of two */
	_Atomic(struct shard_next_hop *) at[];
};

struct shard_next_hops {
	_Atomic(struct next_hop_index *) index;
	struct shard_next_hop **entry; /* by slot; 0 stays empty */
	uint32_t entry_size, entry_free; /* entry_free: where to look for an empty one */
	uint32_t count;
	uint32_t dirty; /* counts times when no re-decision ran any more; from 1 */
	uint32_t tidy_at; /* slot to look at next */
	uint64_t tidy_ns; /* when this lap began */
	bool owed; /* a next hop in use may not be watched: the question could not be sent */
	struct hash_probes probes; /* of insertions */
	uint32_t *of_attr; /* attribute set id -> slot, for VRF_DEFAULT only: spares a walk two
			      cache misses a path */
	uint32_t of_attr_size;
};

/* ---- peers ---- */

/* A place in the endless sequence of laps over a table's ids. */
struct shard_position {
	uint64_t lap;
	uint32_t next;
};

/* A peer's family. Its table is (peer's vrf, family). */
struct shard_rib_in {
	struct adj_rib_in counts; /* readers: relaxed */
	const struct policy *import;
	/*
	 * While `sweeping`, paths with a stamp before sweep_below are doomed. Those before
	 * flush_below are of a lost session; the others were not told again in a refresh, and are
	 * counted as swept.
	 */
	uint16_t sweep_below, flush_below;
	bool sweeping;
	/*
	 * The id behind that of its last announcement. Ids are given in the order in which prefixes come first, and who tells them again, or tells
	 * the same table as another peer, mostly has them in that order: then no index is looked at.
	 */
	struct dest_id next;
	_Atomic(struct shard_refused *) refused; /* NULL: nothing was refused yet; stays for good */
	/* The peer's router id or kind changed while paths of the old session were there: an equal
	 * path is ranked again. */
	bool rerank;
	struct shard_position from;
	struct shard_rib_in *sweep_next; /* in shard_table.sweeps */
	/* keep_all_routes. `keeps` is a list of those that replay or let go. */
	bool keep, replaying, letting_go;
	bool lets_go_then; /* keep was turned off during a replay, which is the last one: what is kept is judged, then let go */
	bool keeps_listed;
	uint64_t replays; /* asked for */
	uint32_t context; /* of verdicts: never the same for two replays or policies */
	struct shard_position replay_from, let_go_from;
	struct shard_rib_in *keeps_next; /* in shard_table.keeps */
	/* Of a plan: its routes are not all judged by the new rules; what its paths are marked with as they change, shifted to its place. */
	bool planned;
	uint32_t generation_flags;
};

/* What was refused of a peer's family. Readers: main. */
struct shard_refused {
	struct shard_refused *next; /* in shard.refused_counts */
	_Atomic uint64_t count[REFUSED_CAUSES];
};

struct shard_peer_slot {
	_Atomic(struct shard_peer *)
		key; /* readers; NULL: free. Immutable but for the three below */
	_Atomic uint32_t router_id, asn; /* as the session found them */
	_Atomic bool external;
	bool up;
	bool evicted; /* shard_peer_evict() */
	_Atomic size_t
		charged_before; /* bytes of attribute sets that count for an earlier peer of this id */
	struct shard_rib_in rib[FAMILY_COUNT];
};

/* ---- tables ---- */

struct shard_table {
	struct dest_table *dests;
	struct vrf_id vrf;
	enum family family;
	struct table_id id;
	/* The circulating scan: runs while there are sweeps, or next hops to re-decide. */
	struct walk walk;
	uint64_t lap;
	bool walking;
	bool redecide;
	bool rejudge; /* while redecide: each destination, not only those with a dirty next hop */
	struct shard_position redecide_from;
	/* The plan: families of peers that have not finished, paths that are held; and the walk that drops those held for no reason any more. */
	unsigned planned;
	uint64_t held;
	bool releasing;
	struct shard_position release_from;
	struct shard_rib_in *sweeps;
	struct shard_rib_in *keeps;
	bool fib_short; /* the FIB has reported a lack of room at least once: some destinations may not be installed */
};

/* They are all that the scan has to do. */
static inline bool
replays_alone(const struct shard_table *t)
{
	return t->keeps != NULL && t->sweeps == NULL && !t->redecide && !t->releasing;
}

/* May any path of the table be held? Not where one peer's rules change alone. */
static inline bool
table_holds(const struct shard_table *t)
{
	return t->planned > 1 || t->held > 0;
}

/* May a refused path of this peer's family stay in use: is another peer of the plan not finished? */
static inline bool
rib_in_holds(const struct shard_table *t, const struct shard_rib_in *r)
{
	return t->planned > (r->planned ? 1u : 0u);
}

/* ---- the record in work ---- */

struct shard_accepted {
	struct attr_id
		id; /* one reference is held while the record is in work; .v == 0: rejected */
	struct attr_id received; /* .v == 0: not kept; held by whoever has the record */
	struct shard_next_hop *next_hop; /* NULL: none; else one user is held */
	uint32_t
		flags; /* of its paths: PATH_NEXT_HOP_UP, the source of our own, PATH_REJECTED and why */
	uint64_t outcome; /* of the policy; in shard.accepted */
};

enum judgement {
	REFUSE_ALL,
	ACCEPT_ALL,
	ASK_POLICY,
};

/* ---- replay ---- */

/* What came of one received set in one context. 32 bytes, found by the set's id: as many as sets are judged. */
struct shard_verdict {
	uint64_t could; /* struct policy_digest */
	uint32_t set, serial, context; /* whose it is; set 0: nobody's */
	uint32_t accepted, accepted_serial; /* what `outcome` made of it; accepted 0: not known */
	uint8_t kind; /* enum verdict_kind */
	uint8_t reason;
	uint8_t outcome;
	uint8_t unused;
};
static_assert(
	sizeof(struct shard_verdict) == 32, "6 MB for a full table's sets, while it is replayed");

#define EFFORT_SPENT (UINT32_MAX / 2)

#define VERDICT_SEGMENT_BITS 12
#define VERDICT_SEGMENTS 256u

/* A path of the last destination that was judged. */
struct shard_judged {
	struct attr_id wanted; /* .v == 0: it is to be refused, or that was not asked */
	/* who asks for the prefix (NULL: nobody), and says this of it; could 0: by all of the policy */
	const struct policy *policy;
	uint64_t could; /* struct policy_digest */
	struct policy_decision decision;
};

struct shard_replay {
	/* the next one, if it has the same paths, comes out the same where policies say the same of its prefix */
	uint64_t judged_identity; /* of struct dest_view; 0: judged[] is not all of it */
	bool judged_concerns;
	unsigned judged_count;
	struct shard_judged judged[PATHS_PACKED_MAX];
	/* the sets are judged once in one run of paths; between slices there is none */
	const struct shard_rib_in *run_rib;
	uint32_t run_set;
	bool run_begun; /* s->eval is at it */
	unsigned fills; /* of verdicts */
	uint64_t deadline_ns; /* of the slice */
	uint32_t contexts;
	struct shard_verdict
		*segment[VERDICT_SEGMENTS]; /* as they are needed, until no replay runs */
	struct shard_verdict spare; /* for who got none */
};

/*
 * What came of the last destination, within a record or a slice of the scan: the next one had the same paths, nearly always, as the prefixes of
 * an UPDATE have. Then nothing is ranked, and both share what is published. Its paths are in `take` and `drop`.
 */
struct shard_again {
	const struct shard_table *table; /* NULL: nothing is known */
	struct dest_ref before, after;
	struct peer_id peer; /* of the edit */
	uint32_t path_id, label, flags;
	struct attr_id accepted, received;
	bool edit, announce; /* false: the scan's, a withdrawal */
	bool refused; /* by policy, of a withdrawal */
	bool differs, aside;
	unsigned paths; /* before; the scan's replays wanted this of them */
	struct attr_id wanted[PATHS_PACKED_MAX];
	unsigned take, doomed, drop;
	bool restamped; /* only the stamp of a path changed, that was this */
	uint16_t stamp;
	/* the change in the counts of paths without a valid next hop; applied `runs` times by again_end() */
	uint32_t runs;
	unsigned waits;
	struct shard_wait {
		struct peer_id peer;
		int8_t by;
	} wait[2 * PATHS_PACKED_MAX];
};

struct shard_input {
	struct ring *full; /* session -> shard */
	struct ring *empty; /* shard -> session */
	alignas(CACHE_LINE) _Atomic uint64_t
		records; /* done, by the shard; readers: the session thread, its siblings */
	_Atomic uint32_t
		awaited; /* bits: these siblings wait for more; they set theirs, the shard clears all; the session thread reads */
	alignas(CACHE_LINE) uint64_t
		seen[SHARDS_MAX]; /* the shard's: so many records at least the siblings have done */
	/* the session thread's: batches at hand, the one used last on top; NULL in `all`: not made, or given back */
	alignas(CACHE_LINE) struct rib_batch *spare[RIB_BATCHES_PER_INPUT];
	unsigned spare_count;
	unsigned spare_low; /* the fewest since shard_input_tidy() */
	uint64_t put_records; /* up to the end of the last batch */
	struct arena *arena;
	struct rib_batch *all[RIB_BATCHES_PER_INPUT];
};

#define AHEAD_MAX 32u

/* Where the shard stands in its input: a slice may end within a record. */
struct shard_cursor {
	/* of the record that comes next: where its prefixes probably are */
	struct dest_id ahead[AHEAD_MAX];
	uint32_t ahead_offset; /* whose they are; UINT32_MAX: nobody's */
	unsigned ahead_count;
	struct shard_input *input;
	struct rib_batch *batch; /* NULL: between batches */
	unsigned input_index;
	uint32_t offset; /* of the record */
	uint32_t nlri; /* done of it */
	uint64_t record; /* the number of the one in work */
	bool told; /* whoever waits knows what was done */
	bool behind; /* siblings have not done what the record in work comes after, as far as we know */
	bool blocked; /* and it waits for them */
	unsigned turn; /* input to ask next */
};

/* "From `first` on, journal entries come of messages read at `received_ns`" (0: of none). Readers
 * probe it. */
struct shard_sample {
	_Atomic uint64_t first, received_ns;
};
#define SHARD_SAMPLES (1u << 15)
/*
 * Messages read within this time share a sample, so the ring covers at least 6.5 s of a full load
 * and the figure errs by at most this much, upwards.
 */
#define SHARD_SAMPLE_NS 200000u

/* Where the slowest paced consumer stands, and since when. */
struct shard_pace {
	uint64_t position, since_ns;
	uint64_t walked_ns; /* the last slice of a walk */
	bool waits; /* all there is to do waits for it */
};

/* Who holds tombstones back, and since when at this place. */
struct shard_late {
	struct journal_holder holder;
	uint64_t since_ns;
	bool given_up;
	bool pressed; /* journal_press() */
	bool waits; /* nothing is taken in until it has come on */
	uint64_t woken_ns; /* consumers, to look after it */
};

struct shard {
	struct shard_config config;
	struct arena *arena;
	struct attr_table *attrs;
	struct journal *journal;
	struct policy_eval *eval;
	struct retire_list *retired;
	uint64_t now_ns; /* of the turn */
	uint64_t entries; /* of the journal, that it wrote */
	uint64_t
		woken; /* the same when it last woke consumers: each shard wakes them for its own */
	uint64_t journal_tidied_ns;
	struct shard_cursor cursor;
	unsigned input_count;
	struct shard_input *input[SHARD_INPUTS_MAX];

	/* the record's verdicts by policy_outcome_place() */
	uint64_t accepted_filled;
	struct shard_accepted accepted[POLICY_OUTCOMES_MAX];
	struct shard_replay replay;
	static_assert(POLICY_OUTCOMES_MAX <= 64, "one bit each in accepted_filled");

	/* scratch of shard_paths.c: room for `scratch_size` paths */
	uint32_t scratch_size;
	struct rib_path *keep, *refused, *take, *drop;
	struct decision_input *in;
	unsigned *order;
	unsigned multipath; /* of `order` */
	struct shard_again again;
	uint32_t
		effort; /* paths ranked since somebody last looked at the clock; EFFORT_SPENT: it is time */

	struct shard_next_hops next_hops;
	struct shard_late late;
	struct shard_pace pace;
	_Atomic uint64_t evictions;
	uint64_t
		short_since_ns; /* when the record in work began to wait for memory; 0: no record waits */
	_Atomic uint64_t held; /* of all tables */
	unsigned walk_turn;
	_Atomic uint32_t cluster_id; /* of the config, for any thread */
	struct shard_refused *refused_counts; /* a list that only grows */
	/* A bit a peer: shard_ailing(). 512 bytes a family. */
	_Atomic uint64_t ailing[FAMILY_COUNT][PEER_WORDS];
	_Atomic(struct refused_ring *)
		refused_ring; /* NULL: nothing was refused yet, or no memory */
	_Atomic uint64_t
		failures; /* changes lost for want of memory, and records that made no sense */

	_Atomic unsigned table_count;
	struct shard_table table[SHARD_TABLES_MAX];
	_Atomic(struct shard_peer_slot *) peer[PEER_MAX];

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

/* NULL: no such peer. */
struct shard_peer_slot *shard_slot(const struct shard *s, struct peer_id id);
struct shard_table *shard_table_of(struct shard *s, struct vrf_id vrf, enum family family);

/* shard_next_hops.c */
int next_hops_init(struct shard *s);
void next_hops_fini(struct shard *s);
/*
 * The next hop of a set just interned in a table of `vrf`, as one more user; asks for it when it is
 * new. *out is NULL when there is nothing to track. 0, -ENOMEM.
 */
int next_hop_hold(struct shard *s, struct vrf_id vrf, struct attr_id attr,
	const struct ip_addr *addr, struct shard_next_hop **out) RUNS_ON(role_rib);
/* The one of a path that is in a table of `vrf`. */
struct shard_next_hop *next_hop_of(
	const struct shard *s, struct vrf_id vrf, const struct rib_path *p) RUNS_ON(role_rib);
/* What next_hop_of() will read of a path with this set. */
static inline void
next_hop_prefetch(const struct shard *s, struct attr_id set)
{
	if (set.v < s->next_hops.of_attr_size)
		__builtin_prefetch(&s->next_hops.of_attr[set.v]);
}
bool next_hop_eligible(const struct shard *s, const struct shard_peer_slot *slot,
	struct peer_id peer, const struct shard_next_hop *n);
/* Tells the fib thread what nobody has used for some seconds; a few at a time. */
void next_hops_tidy(struct shard *s) RUNS_ON(role_rib);
void next_hops_clean(struct shard *s); /* no re-decision runs any more */
/* Any reader. */
struct shard_next_hop *next_hop_find(
	const struct shard *s, struct vrf_id vrf, const struct ip_addr *addr);

/* shard_paths.c: 0, -ENOMEM; -EAGAIN: it would take a route away, and import_may_take() says no */
int path_announce(struct shard *s, struct shard_table *t, struct peer_id peer,
	const struct rib_nlri *n, const struct shard_accepted *acc) RUNS_ON(role_rib);
/* `refused`: import policy refuses what the peer announced, and nothing is kept; such a path may be held. */
int path_withdraw(struct shard *s, struct shard_table *t, struct peer_id peer,
	const struct prefix *p, uint32_t path_id, bool refused) RUNS_ON(role_rib);
/* A path of the peer is stored for the prefix, and no sweep is about to take it away: it counts against max_prefixes already. */
bool path_counted(const struct shard *s, const struct shard_table *t, struct peer_id peer,
	const struct prefix *p, uint32_t path_id) RUNS_ON(role_rib);
bool path_doomed(const struct shard *s, const struct shard_table *t, const struct rib_path *p);
/* Drops doomed paths, replays kept ones (behind replay_concerns()) and ranks all again; publishes only what differs. 0, -ENOMEM. */
int dest_redecide(struct shard *s, struct shard_table *t, struct dest_id id,
	const struct dest_view *view) RUNS_ON(role_rib);
/* Policies, peers, next hops or the time may be others now. */
void again_end(struct shard *s) RUNS_ON(role_rib);
void scratch_free(struct shard *s);

/* shard_refused.c */
/* One more prefix is refused. It is remembered unless `p` is NULL, for a path that is kept tells its reason itself. */
void refused_count(struct shard *s, struct peer_id peer, enum family family,
	enum refused_cause cause, const struct prefix *p) RUNS_ON(role_rib);
/* `by` more (or less) destinations whose best path is of that peer are not installed (REFUSED_NOT_INSTALLED); that is no rejected route. */
void refused_not_installed(struct shard *s, struct peer_id peer, enum family family, int by)
	RUNS_ON(role_rib);
/* The cause for a reason of the decision. */
enum refused_cause refused_of(enum decision_reason reason);
/* The counts of a session that comes up begin at 0, except for REFUSED_NOT_INSTALLED, which counts stored paths. The shard's thread, or before it runs. */
void refused_reset(struct shard_rib_in *r);
/* Clears the bit of shard_ailing() when nothing is counted any more. */
void refused_settle(struct shard *s, struct peer_id peer, enum family family);
/* `by` more accepted paths of the peer have no valid next hop. */
void refused_waiting(struct shard *s, struct peer_id peer, enum family family, int64_t by)
	RUNS_ON(role_rib);
void refused_fini(struct shard *s);

/* shard_import.c */
/* One turn of the live input, until the deadline. True while there is more. */
bool import_run(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);
int accepted_get(struct shard *s, struct shard_table *t, struct peer_id peer,
	const struct attr_set *attrs, struct shard_accepted *out) RUNS_ON(role_rib);
/* The same of a set that is interned, and of one that may wait to be freed. */
int accepted_hold(struct shard *s, struct shard_table *t, struct peer_id peer, struct attr_id id,
	struct shard_accepted *out) RUNS_ON(role_rib);
void accepted_put(struct shard *s, struct shard_accepted *acc) RUNS_ON(role_rib);
/* The verdict of an outcome; NULL: none. */
struct shard_accepted *accepted_find(struct shard *s, uint64_t outcome);
/* An empty place for the verdict of an outcome; a verdict of another outcome leaves the place. */
struct shard_accepted *accepted_place(struct shard *s, uint64_t outcome) RUNS_ON(role_rib);
/* The place holds the verdict from now on. */
void accepted_keep(struct shard *s, struct shard_accepted *acc, uint64_t outcome);
/* Lets go of s->accepted. */
void verdicts_end(struct shard *s) RUNS_ON(role_rib);
/* What of a verdict hangs on no prefix, and needs no node of a policy. *reason: of REFUSE_ALL. */
enum judgement import_judge(const struct shard *s, const struct shard_peer_slot *slot,
	enum family family, const struct attr_set *attrs, enum decision_reason *reason);
void import_context(
	const struct shard_peer_slot *slot, enum family family, struct policy_context *out);
/* Flags of a path that is rejected for `reason`. */
uint32_t refused_flags(enum decision_reason reason);
/* The reason in such flags; DECISION_EQUAL: the path is not rejected. */
static inline enum decision_reason
flags_refused(uint32_t flags)
{
	if (!(flags & PATH_REJECTED))
		return DECISION_EQUAL;
	return (enum decision_reason)(DECISION_AS_LOOP + (flags >> PATH_SOURCE_SHIFT & 0xf));
}
/* By policy, not as a loop: another policy may accept the same. */
bool reason_is_policy(enum decision_reason reason);
void shard_sample_add(struct shard *s, uint64_t received_ns) RUNS_ON(role_rib);
/* May the record in work take a route away? False: not before siblings have come further, who wake us then. */
bool import_may_take(struct shard *s) RUNS_ON(role_rib);

/* shard_walks.c */
/* Dooms what has a stamp before `below`; `lost`: of a lost session. */
void sweep_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r, uint16_t below,
	bool lost) RUNS_ON(role_rib);
/* Next hops of this vrf are dirty. */
void redecide_start(struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/* All destinations of this vrf are to be ranked again. */
void rejudge_start(struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/* Drops the held paths that no peer of the plan is waited for any more. */
void release_start(struct shard_table *t) RUNS_ON(role_rib);
/* Kept routes of `r` are judged anew, or let go. */
void replay_start(struct shard *s, struct shard_table *t, struct shard_rib_in *r) RUNS_ON(role_rib);
void let_go_start(struct shard_table *t, struct shard_rib_in *r) RUNS_ON(role_rib);
bool walks_pending(const struct shard *s);
/* Of these, one that may go on: while `hold`, none that makes tombstones. */
bool walks_possible(const struct shard *s, bool hold);
/* At least one slice, then until the deadline; none that sweeps while `hold`, none while consumers have much to read. True while there is more. */
bool walks_run(struct shard *s, uint64_t deadline_ns, bool hold) RUNS_ON(role_rib);

/* shard_replay.c */
/* Some path of it is kept and not what it is to be; what each is to be is noted. 1, 0, -ENOMEM. */
int replay_concerns(struct shard *s, struct shard_table *t, const struct dest_view *view)
	RUNS_ON(role_rib);
/*
 * `p`, a copy of a path of that prefix, as it is to be. False: it is to go. What it refers to is held until
 * replay_slice_end(). 0, 1: it differs, -ENOMEM.
 */
int replay_path(struct shard *s, struct shard_table *t, const struct prefix *prefix,
	struct rib_path *p, bool *gone) RUNS_ON(role_rib);
/* The same as of the last destination: nothing. */
bool replay_passes(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib);
void replay_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib);
void replay_slice_end(struct shard *s) RUNS_ON(role_rib);
/* No replay runs any more. */
void replay_forget(struct shard *s);

/* shard_tombstones.c */
/* Once a turn: gives back, evicts. True: nothing that makes tombstones may be done now. */
bool tombstones_hold(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib);
