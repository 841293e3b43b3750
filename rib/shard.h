/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rib shard: batches of decoded UPDATEs in, decided destinations and entries of a journal out. Several share that journal, and
 * nothing else (docs/decisions/0006).
 *
 * Writer: the shard's own thread (role_rib). What others see: its tables, attribute sets and the journal, online in the RIB
 * readers' QSBR. Input comes over one pair of rings for each session thread, and one pair to the fib thread for next hops.
 * Commands (peers, policies) are functions that control posts onto the shard's thread.
 *
 * Every long walk (flush of a lost peer, stale sweep, next-hop re-decision) is a resumable scan of dense ids, cut into slices
 * by shard_work()'s deadline. Live batches go first, walks share what is left in turn.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"
#include "rib/adj_rib_in.h"
#include "rib/attr.h"
#include "rib/decision.h"
#include "rib/dest.h"
#include "rib/journal.h"
#include "rib/policy.h"
#include "rib/refused.h"

struct arena;
struct qsbr;
struct ring;
struct shard;

#define SHARD_TABLES_MAX 64
#define SHARD_INPUTS_MAX 8
#define SHARDS_MAX JOURNAL_WRITERS_MAX
#define SHARD_PACE_ENTRIES 2048u /* so far ahead of the paced consumers walks wait */

/* ---- batches: session thread -> shard ---- */

enum rib_record_kind {
	RIB_UPDATE, /* attrs, then announced NLRI; or no attrs, then withdrawn NLRI */
	RIB_SESSION_UP, /* payload struct rib_session_up: opens an epoch in each of its families */
	RIB_SESSION_DOWN, /* payload struct rib_session_down: flush all paths of the peer, but for what is retained */
	RIB_BEGIN_REFRESH, /* BoRR (RFC 7313 4): opens an epoch in `family` */
	RIB_END_REFRESH, /* EoRR: sweeps what is still of an older epoch */
	RIB_END_OF_RIB, /* RFC 4724 2 */
	RIB_STALE_TIMEOUT, /* the session's stale timer: sweeps as EoRR would have done */
};

/*
 * A record is this header, `attrs_len` bytes of struct attr_set (padded to 8), then `nlri_count` of struct rib_nlri.
 *
 * Each input counts its records. Of several shards, what takes a route away, and all that is no UPDATE, is done when the first shard has done
 * `after` records of the same session thread; with `wide` when each of the others has done as many as it has in the struct rib_order at the
 * record's end. What is waited for was put before, so nobody waits for himself. docs/decisions/0006
 */
struct rib_record {
	uint8_t kind;
	uint8_t family; /* enum family */
	struct peer_id peer;
	struct vrf_id vrf;
	uint16_t nlri_count;
	uint32_t attrs_len; /* 0: withdraw */
	uint32_t record_len; /* of all, multiple of 8: where the next one begins */
	uint64_t received_ns; /* monotonic: when the message was read; feeds update_to_fib_ns */
	uint32_t attrs_hash; /* attr_set_hash(); 0: not made */
	bool wide; /* prefixes that cover what other shards have, or all of a peer */
	uint8_t refused; /* enum refused_cause: the session withdraws a route that it refuses; only without attrs */
	/*
	 * max_prefixes of an announcement; 0: the session knows that the record does not reach the limit. One of several shards counts what all
	 * of them have: the record is `wide`, and comes after all that was put before of the same session thread.
	 */
	uint32_t limit;
	uint64_t after;
};

struct rib_order {
	uint64_t after[SHARDS_MAX];
};

struct rib_nlri {
	struct prefix prefix;
	uint8_t pad[2];
	uint32_t path_id;
	uint32_t label;
};

struct rib_session_up {
	uint32_t router_id;
	uint32_t asn;
	bool external;
	uint8_t families; /* bit by enum family: negotiated */
	uint8_t end_of_rib; /* bit by enum family: the peer will send one (RFC 4724), until then a BoRR is ignored and counted (RFC 7313 4) */
	uint8_t pad[5];
};

/* Filled by a session thread, given back by the shard: made when all others are under way, freed when they lie about. */
struct rib_batch {
	uint32_t used; /* bytes of records */
	uint32_t size;
	uint64_t before; /* records of this input before it */
	uint64_t records; /* of it; 0 where nobody asks what is done */
	alignas(8) uint8_t data[];
};
/*
 * Families in `retain` (bit by enum family) keep their paths, stale (RFC 4724 4.2, RFC 8538): the next RIB_SESSION_UP opens an epoch and its
 * End-of-RIB sweeps; RIB_STALE_TIMEOUT sweeps too, session up or not; RIB_SESSION_DOWN without `retain` flushes them.
 */
struct rib_session_down {
	uint8_t retain;
	uint8_t pad[7];
};

#define RIB_BATCH_SIZE (256u << 10) /* one extended UPDATE decoded always fits */
#define RIB_BATCHES_PER_INPUT 16 /* 80,000 prefixes: 20 ms of the shard's time */

/* The session side's half of an input. */
struct shard_input;
/* An empty batch, or NULL: the shard has them all; stop reading that socket. */
struct rib_batch *shard_input_get(struct shard_input *in) RUNS_ON(role_session);
void shard_input_put(struct shard_input *in, struct rib_batch *b) RUNS_ON(role_session);
/* The shard has done all that were put: what counts show then has all of them. */
bool shard_input_idle(const struct shard_input *in) RUNS_ON(role_session);
/* The shard has done the first so many. */
bool shard_input_did(const struct shard_input *in, uint64_t records) RUNS_ON(role_session);
/* Another shard waits for what this one gets or has got: a batch that is open should leave. A hint. */
bool shard_input_awaited(const struct shard_input *in) RUNS_ON(role_session);
/* Gives an unused one back. */
void shard_input_return(struct shard_input *in, struct rib_batch *b) RUNS_ON(role_session);
/* Now and then: frees those that were not needed since the last time. False: none is left. */
bool shard_input_tidy(struct shard_input *in) RUNS_ON(role_session);

/* ---- next hops: shard <-> fib thread ---- */

/*
 * Both ways, in order; the shard asks with up = false once for each new next hop, the fib thread answers and tells changes. With `unwatch`
 * the shard wants to hear no more of it; it asks again before it uses it again.
 */
struct nexthop_message {
	struct vrf_id vrf;
	bool up; /* resolvable */
	bool connected; /* on a connected subnet (a link-local one: on its zone): what a single-hop external peer must name */
	bool unwatch; /* shard -> fib: nobody uses it any more */
	uint32_t metric;
	struct ip_addr addr;
};

/* ---- the forwarding tables' room: fib thread -> shard ---- */

/*
 * One report is under way to a shard at a time, so a storm takes no more memory than this; what changes meanwhile waits in the fib, one note a
 * prefix (fib_note_peek()).
 */
#define SHARD_REPORT_MAX 512u
struct shard_report {
	_Atomic bool busy; /* the shard has it: the fib thread sets it, the shard clears it */
	unsigned count;
	struct shard_room {
		enum shard_room_kind {
			ROOM_INSTALLED, /* the tables have the prefix, or do not need to have it */
			ROOM_NONE, /* they have no room for it */
			ROOM_TIGHT, /* of that family: the tables are nearly full, new destinations of that length and longer wait for an answer */
			ROOM_PLENTY, /* they are not any more */
		} kind;
		struct vrf_id vrf;
		struct prefix prefix;
	} at[SHARD_REPORT_MAX];
};

/* ---- the shard ---- */

struct shard_config {
	struct arena *arena;
	struct qsbr *readers; /* RIB readers */
	uint32_t own_asn;
	uint32_t router_id;
	uint32_t journal_capacity; /* entries; 0: 1 << 20 */
	/* One of several: the journal that they share (it is lent, and outlives them), which of them, and all of them when they run. */
	struct journal *journal;
	unsigned index;
	struct shard *const *siblings;
	void (*wake_sibling)(void *ctx, unsigned index); /* it waits for what was done here */
	uint32_t cluster_id; /* RFC 4456 7; 0: the router id */
	unsigned max_paths; /* equal paths that forward together; 0 and 1: the best alone */
	uint32_t
		tombstones_max; /* of one table; 0: an eighth of its destinations, at least 65,536 */
	/*
	 * On the shard's thread: that cursor (JOURNAL_EVICT) held back more tombstones than that. Its next journal_read() says -ESTALE, and it
	 * holds nothing any more. A hint to go and see: its consumer may have left meanwhile.
	 */
	void (*evicted)(void *ctx, struct journal_cursor *c);
	void *evicted_ctx;
	bool next_hop_tracking; /* false: every next hop is taken as resolvable */
	void (*wake_consumers)(
		void *ctx); /* called at the end of a work slice that appended to the journal */
	void *wake_ctx;
	/* Passed on to the fib thread by control. False: no memory; the shard asks again in a later turn. */
	bool (*ask_next_hop)(void *ctx, const struct nexthop_message *m);
	void *ask_ctx;
};

/* What of shard_config may change while it runs; 0 means the same there. */
struct shard_settings {
	uint32_t cluster_id;
	unsigned max_paths;
	uint32_t tombstones_max;
};

/* What the shard knows of a peer for decision and import; a copy is kept. */
struct shard_peer {
	struct peer_id id;
	struct vrf_id vrf;
	struct ip_addr addr;
	bool external;
	bool multihop; /* lifts the check of the next hop's subnet */
	bool rr_client; /* RFC 4456: a client of ours; what it sends is reflected to all */
	uint8_t allow_as_in[FAMILY_COUNT]; /* how often our own AS may be in a path of its */
	uint32_t asn;
	uint32_t router_id; /* known when the session is up */
};

/* 0, -ENOMEM. `inputs` pairs of rings are made, one for each session thread. */
int shard_create(const struct shard_config *config, unsigned inputs, struct shard **out);
void shard_destroy(struct shard *s);
struct shard_input *shard_input(struct shard *s, unsigned index);

/* Before any route of it. 0, -ENOMEM, -EEXIST. */
int shard_table_add(struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out);
/* Any thread, after shard_table_add: -ENOENT when there is none. */
int shard_table_find(
	const struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out);
struct dest_table *shard_table(const struct shard *s, struct table_id id);
void shard_table_key(
	const struct shard *s, struct table_id id, struct vrf_id *vrf, enum family *family);
unsigned shard_table_count(const struct shard *s);
struct attr_table *shard_attrs(const struct shard *s);
struct journal *shard_journal(const struct shard *s);

/*
 * On the shard's thread. Other max_paths: all destinations are judged anew by a sliced walk. A new cluster id judges what comes from here
 * on.
 */
void shard_settings(struct shard *s, const struct shard_settings *settings) RUNS_ON(role_rib);

/* Commands, on the shard's thread. `policy` NULL: no policy (external: nothing is accepted, RFC 8212; internal: all). */
int shard_peer_add(struct shard *s, const struct shard_peer *p) RUNS_ON(role_rib);
/*
 * Other rr_client, multihop, allow_as_in, without touching its routes: multihop decides anew by a sliced walk, allow_as_in judges what comes
 * from here on and, as a replay would, what is kept. What a session finds out (asn, router_id, external) stays. 0, -ENOENT, -EINVAL (another address or VRF), -ENOMEM.
 */
int shard_peer_change(struct shard *s, const struct shard_peer *p) RUNS_ON(role_rib);
/* Its routes must be gone (shard_peer_idle), else -EBUSY. */
int shard_peer_remove(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
bool shard_peer_idle(const struct shard *s, struct peer_id id) RUNS_ON(role_rib);
/*
 * Memory is short, and this peer took the most: its routes are flushed, and its UPDATEs are dropped, until RIB_SESSION_DOWN, which must follow.
 * shard_peer_spare(): there is no session that could end; UPDATEs count again.
 */
void shard_peer_evict(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
void shard_peer_spare(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
/*
 * From here on every announcement of this peer and family is judged by `policy`. Routes accepted before stay as they are
 * until they come again (ROUTE-REFRESH) or are replayed; what is kept of a peer that is away (retained) is replayed at once. After return
 * the old policy is not used any more; a replay under way goes on with the new one.
 */
void shard_peer_import(struct shard *s, struct peer_id id, enum family family,
	const struct policy *policy) RUNS_ON(role_rib);
/*
 * keep_all_routes. On: from here on a route is stored as it came beside what policy made of it (struct rib_path), and one that import policy
 * or a loop refuses is kept with PATH_REJECTED; what is there already is kept when it comes again. Off: a sliced walk lets go of what was
 * kept, and a replay under way is over.
 */
void shard_peer_keep(struct shard *s, struct peer_id id, enum family family, bool keep)
	RUNS_ON(role_rib);
/*
 * Judges all kept routes of this peer and family anew by its import policy of now, in slices; only what comes out differently is published.
 * Asked for again, or with another policy meanwhile, it goes round to where it was then: at most one more lap. Its number: it is done when
 * adj_rib_in_counts.replays_done has reached it. Whether the session is up does not matter: retained routes are replayed, too. 0: no such peer.
 */
uint64_t shard_peer_replay(struct shard *s, struct peer_id id, enum family family)
	RUNS_ON(role_rib);
/*
 * A plan: the peers and families of a table whose import rules one commit changes. From shard_plan_begin() on, paths of these that change carry
 * `generation` (1 .. PATH_GENERATIONS; 0: none), so that update groups know which of a destination's paths the new rules have judged.
 * Make before break: a path that import policy refuses stays in use (PATH_HELD) while the destination has no other usable path and another peer
 * of the plan has not finished. A path that the peer withdraws, or that goes with its session, is not held.
 * A plan that begins while another one runs joins it: the peers of both are waited for.
 */
void shard_plan_begin(struct shard *s, struct peer_id id, enum family family, unsigned generation)
	RUNS_ON(role_rib);
/* This peer's routes have all been judged by the new rules, or never will be. A sliced walk drops what is held for no other reason. */
void shard_plan_done(struct shard *s, struct peer_id id, enum family family) RUNS_ON(role_rib);
/* Any thread: paths that are held now. */
uint64_t shard_held(const struct shard *s);
/*
 * Our own announcement (`networks`, redistribution), one for each prefix; a NULL `attrs` withdraws. Each prefix with attributes of its
 * own, equal ones are shared. `source` goes with the path: rib_path_source().
 */
int shard_originate_from(struct shard *s, struct vrf_id vrf, enum family family,
	const struct prefix *p, enum route_source source, const struct attr_set *attrs)
	RUNS_ON(role_rib);
/* The same from SOURCE_NETWORK. */
int shard_originate(struct shard *s, struct vrf_id vrf, enum family family, const struct prefix *p,
	const struct attr_set *attrs) RUNS_ON(role_rib);
/* An answer or change from the fib thread; re-decides what uses that next hop by a sliced walk. */
void shard_next_hop(struct shard *s, const struct nexthop_message *m) RUNS_ON(role_rib);

/*
 * A report of the fib thread. A destination that is not installed any more, or is again, gets an entry in the journal, so that consumers look at it
 * once more. Clears r->busy when it is done.
 */
void shard_report(struct shard *s, struct shard_report *r) RUNS_ON(role_rib);

/* One turn of the loop: batches, slices of walks, reclaim. Returns true while there is more to do. Monotonic ns. */
bool shard_work(struct shard *s, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_rib);
/* After it said that there is more: but not before consumers have read some of what was done. journal_waiter() says when; else to look again in 1 ms is soon enough. */
bool shard_waits(const struct shard *s) RUNS_ON(role_rib);

/* Any thread: counters of a peer's family, and the peer as the shard knows it (false: no such peer). */
void shard_peer_counts(const struct shard *s, struct peer_id id, enum family family,
	struct adj_rib_in_counts *out);
/*
 * Any thread: prefixes refused, by cause, since the session came up; of REFUSED_NEXT_HOP, accepted paths without a valid next hop now. False: none
 * since the peer was added.
 */
bool shard_peer_refused(
	const struct shard *s, struct peer_id id, enum family family, uint64_t out[REFUSED_CAUSES]);
/*
 * Any thread: the peers 64 * word to 64 * word + 63, a bit each. A bit is set while shard_peer_refused() counts a cause that is not policy
 * (refused_by_policy()), and may stay set until the next session of the peer. word < PEER_WORDS.
 */
uint64_t shard_ailing(const struct shard *s, enum family family, unsigned word);
/* Main: the last refusals of a prefix that are remembered, the newest first; as refused_ring_find(). */
unsigned shard_refused_find(const struct shard *s, enum family family, const struct prefix *p,
	struct refused_route *out, unsigned max) RUNS_ON(role_main);
/*
 * About so many bytes are there for this peer: its paths with their destinations, and the attribute sets that it brought first. Sets that
 * several peers brought count for the first alone.
 */
size_t shard_peer_memory(const struct shard *s, struct peer_id id);
bool shard_peer_peek(const struct shard *s, struct peer_id id, struct shard_peer *out);
/* Readers: is this path stale, and what decision_order() needs of it (of a rejected one the attributes as received). */
bool shard_path_stale(const struct shard *s, enum family family, const struct rib_path *p);
void shard_decision_input(
	const struct shard *s, const struct rib_path *p, struct decision_input *out);
/* Monotonic ns when the oldest message behind journal entries up to `sequence` was read; 0: unknown. For update_to_fib_ns. */
uint64_t shard_received_ns(const struct shard *s, uint64_t sequence);
/*
 * Any thread: the same for all messages behind the entries after `after` up to `sequence`, one time for those read within 200 us (the oldest
 * one's). *at is 0 at first. False: no more.
 */
bool shard_received_next(const struct shard *s, uint64_t after, uint64_t sequence, uint64_t *at,
	uint64_t *received_ns);
/* Readers: why a kept path is rejected; DECISION_EQUAL: it is not. */
enum decision_reason shard_path_refused(const struct rib_path *p);
/* Readers: what the peer sent, kept by keep_all_routes; NULL: not kept. */
const struct attr_set *shard_path_received(const struct shard *s, const struct rib_path *p);
/*
 * Readers: the loop for which these attributes of that peer would be refused before policy is asked (as-loop, originator-loop,
 * cluster-loop), where our own AS may be in the path so often, and by that cluster id; DECISION_EQUAL: none.
 */
enum decision_reason shard_loops(const struct shard *s, struct peer_id id, unsigned allow_as_in,
	uint32_t cluster_id, const struct attr_set *a);
uint32_t shard_cluster_id(const struct shard *s); /* RFC 4456 7; any thread */
/* Any thread: changes lost for want of memory, and records that named no peer, session or table of ours. 0 in good health. */
uint64_t shard_failures(const struct shard *s);
/* Any thread: of insertions into the shard's table of next hops. */
const struct hash_probes *shard_next_hop_probes(const struct shard *s);
/* Any thread: consumers evicted because of `tombstones_max`. */
uint64_t shard_evictions(const struct shard *s);
