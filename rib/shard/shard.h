/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rib shard turns batches of decoded UPDATEs into evaluated destinations and journal entries.
 * Several shards share one journal and nothing else (docs/decisions/0006).
 *
 * Writer: the thread of the shard (role_rib). Other threads read tables, attribute sets and the
 * journal, online in the QSBR of RIB readers. Input arrives over one pair of rings per session
 * thread; next hops go to and from the fib thread. Control calls the commands (peers, policies) on
 * the thread of the shard.
 *
 * Every long walk (flush of a lost peer, stale sweep, next-hop evaluation, replay) is a resumable
 * scan of dense ids, cut into slices by the deadline of shard_work(). Input batches run first, and
 * leave a quarter of the turn to pending walks.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"
#include "rib/table/adj_rib_in.h"
#include "rib/table/attr.h"
#include "rib/table/decision.h"
#include "rib/table/dest.h"
#include "rib/table/journal.h"
#include "rib/table/nlri.h"
#include "rib/policy/policy.h"
#include "rib/shard/refused.h"
#include "rib/table/vpn.h"

struct arena;
struct history_change;
struct path_ring;
struct qsbr;
struct ring;
struct shard;
struct trace_tap;

#define SHARD_TABLES_MAX 4096 /* two a VPN instance, and tables that wait for readers to go */
#define SHARD_VRFS_MAX 4096
#define TABLE_NONE ((struct table_id){UINT16_MAX})
#define SHARD_INPUTS_MAX 8
#define SHARDS_MAX JOURNAL_WRITERS_MAX
#define SHARD_PACE_ENTRIES 2048u /* walks wait when paced consumers are this far behind */

/* ---- batches: session thread -> shard ---- */

enum rib_record_kind {
	RIB_UPDATE, /* attrs, then announced NLRI; or no attrs, then withdrawn NLRI */
	/* payload struct rib_session_up: opens an epoch in each family of the session */
	RIB_SESSION_UP,
	/* payload struct rib_session_down: flushes paths of the peer except in retained families */
	RIB_SESSION_DOWN,
	RIB_BEGIN_REFRESH, /* BoRR (RFC 7313 4): opens an epoch in `family` */
	RIB_END_REFRESH, /* EoRR: sweeps paths of older epochs */
	RIB_END_OF_RIB, /* RFC 4724 2: sweeps the paths retained from an earlier session */
	RIB_STALE_TIMEOUT, /* stale timer of the session: sweeps as EoRR */
	/*
	 * The long-lived phase of retained paths (RFC 9494 4.2): each gets LLGR_STALE, or is removed
	 * because of NO_LLGR
	 */
	RIB_LONG_LIVED,
};

/* Changes that live changes overtake on the way to the peers (docs/decisions/0014). Flags. */
enum shard_bulk {
	BULK_TABLE = 1, /* by a walk, or for a peer that sends a whole table */
	BULK_BURST = 2, /* of a peer that sends many changes at once */
};

/*
 * A record is this header, `attrs_len` bytes of a packed attribute set (padded to 8), then `nlri_len`
 * octets with `nlri_count` prefixes (rib/table/nlri.h), padded to 8. Each input counts records.
 *
 * With several shards, withdrawals and records other than UPDATE wait until the first shard has
 * done `after` records of the same session thread. A `wide` record also waits until each other
 * shard has done the number of records in the struct rib_order at the end of the record: records of the first
 * shard, and records other than UPDATE of a peer with a limit. Awaited
 * records were put earlier, so no record waits for a later record. docs/decisions/0006
 */
struct rib_record {
	uint8_t kind;
	uint8_t family; /* enum family */
	struct peer_id peer;
	struct vrf_id vrf;
	uint16_t nlri_count;
	uint32_t attrs_len; /* 0: withdraw */
	/* length including padding, a multiple of 8: offset of the next record */
	uint32_t record_len;
	uint64_t received_ns; /* monotonic: when the message was read; feeds update_to_fib_ns */
	uint32_t attrs_hash; /* attr_packed_hash(); 0: not made */
	bool wide; /* prefixes that cover prefixes of other shards, or all prefixes of a peer */
	uint8_t bulk; /* bits of enum shard_bulk; 0: live */
	/*
	 * enum refused_cause: a withdrawal by the session of a route that the session refuses; only
	 * without attrs
	 */
	uint8_t refused;
	uint8_t nlri_form; /* bits of enum rib_nlri_form */
	/*
	 * max_prefixes of an announcement; 0: the session knows that the record stays below the
	 * limit. With several shards the prefixes of all shards count: the record is `wide`, and
	 * comes after all earlier records of the same session thread.
	 */
	uint32_t limit;
	uint32_t nlri_len;
	uint64_t after;
};
static_assert(sizeof(struct rib_record) == 48, "beside the attributes and 4 octets a prefix");

struct rib_order {
	uint64_t after[SHARDS_MAX];
};

struct rib_session_up {
	uint32_t router_id;
	uint32_t asn;
	bool external;
	uint8_t families; /* bit by enum family: negotiated */
	/*
	 * bit by enum family: the peer will send End-of-RIB (RFC 4724); until then BoRR is ignored
	 * and counted (RFC 7313 4)
	 */
	uint8_t end_of_rib;
	bool refreshes; /* route refresh was negotiated */
	uint8_t pad[4];
};

/*
 * Filled by a session thread and returned by the shard. shard_input_get() allocates a batch when no
 * returned batch is left; shard_input_tidy() frees unused batches.
 */
struct rib_batch {
	uint32_t used; /* bytes of records */
	uint32_t size;
	uint64_t before; /* records of this input before the batch */
	uint64_t records; /* records in the batch; 0 if progress is not tracked */
	alignas(8) uint8_t data[];
};
/*
 * Families in `retain` (bit by enum family) keep stale paths (RFC 4724 4.2, RFC 8538): the next
 * RIB_SESSION_UP opens an epoch, and End-of-RIB sweeps. RIB_STALE_TIMEOUT also sweeps, with or
 * without a session; RIB_SESSION_DOWN without `retain` flushes.
 */
struct rib_session_down {
	uint8_t retain; /* bit by enum family */
	/*
	 * Of these, families whose long-lived phase began after an earlier loss: stale paths stay
	 * (RFC 9494 4.2), and the others get LLGR_STALE at once.
	 */
	uint8_t long_lived;
	uint8_t pad[6];
};

#define RIB_BATCH_SIZE (256u << 10) /* room for the largest extended UPDATE, decoded */
/* the most in existence; full batches hold some 120,000 prefixes, 20 ms of work for the shard */
#define RIB_BATCHES_PER_INPUT 16

/* The session side's half of an input. */
struct shard_input;
/* An empty batch. NULL: the shard has all batches, or no memory; do not read from peers now. */
struct rib_batch *shard_input_get(struct shard_input *in) RUNS_ON(role_session);
void shard_input_put(struct shard_input *in, struct rib_batch *b) RUNS_ON(role_session);
/* True if the shard has done every batch: counters then include all records. */
bool shard_input_idle(const struct shard_input *in) RUNS_ON(role_session);
/* True if the shard has done the first `records` records. */
bool shard_input_did(const struct shard_input *in, uint64_t records) RUNS_ON(role_session);
/*
 * Any thread: what a received prefix of the family lately cost the shard, with policies, ranking and
 * imports into instances, in nanoseconds.
 */
uint32_t shard_cost_ns(const struct shard *s, enum family family);
/* Returns an unused batch. */
void shard_input_return(struct shard_input *in, struct rib_batch *b) RUNS_ON(role_session);
/* Now and then: frees batches that were unused since the last call. False if no batch is left. */
bool shard_input_tidy(struct shard_input *in) RUNS_ON(role_session);

/* ---- next hops: shard <-> fib thread ---- */

/*
 * In order in both directions. The shard asks with up = false once per new next hop; the fib thread
 * answers, and reports changes. `unwatch` ends the reports; the shard asks again before the next
 * use.
 */
#define NEXTHOP_OWN_MAX 8 /* BGP routes in a resolution; with more, the address is unresolvable */
struct nexthop_message {
	struct vrf_id vrf;
	bool up; /* resolvable */
	/*
	 * on a connected subnet (link-local: of the zone), required of a single-hop external peer
	 */
	bool connected;
	bool unwatch; /* shard -> fib: the next hop is no longer used */
	uint8_t own_count;
	uint32_t metric;
	struct ip_addr addr;
	/*
	 * The BGP routes by which the address resolves, directly or through further routes. A path of
	 * such a prefix has the state here: the state without the BGP route of the prefix (RFC 4271
	 * 9.1.2.1, routes that resolve themselves).
	 */
	struct nexthop_own {
		struct prefix prefix;
		bool up, connected;
		uint32_t metric;
	} own[NEXTHOP_OWN_MAX];
};

/* ---- the forwarding tables' room: fib thread -> shard ---- */

/*
 * One report is in flight per shard at a time, which bounds memory in a storm. Further changes wait
 * in the fib, one note per prefix (fib_note_peek()).
 */
#define SHARD_REPORT_MAX 512u
struct shard_report {
	_Atomic bool busy; /* set by the fib thread, cleared by the shard when done */
	unsigned count;
	struct shard_room {
		enum shard_room_kind {
			ROOM_INSTALLED, /* the tables hold the prefix, or do not need the prefix */
			ROOM_NONE, /* the tables have no room for the prefix */
			/*
			 * the tables of the family are nearly full: new destinations with prefixes
			 * of this length or longer wait for an answer
			 */
			ROOM_TIGHT,
			ROOM_PLENTY, /* end of ROOM_TIGHT */
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
	uint32_t journal_capacity; /* entries of a journal of its own; 0: 1 << 20 */
	/* Borrowed, outlives the shards. NULL: the shard creates a journal of its own. */
	struct journal *journal;
	unsigned index; /* of this shard: its number as a writer of `journal` */
	/* NULL: the only shard. Otherwise SHARDS_MAX places: all shards of `journal`, then NULL */
	struct shard *const *siblings;
	/* the sibling waits for records that this shard has done */
	void (*wake_sibling)(void *ctx, unsigned index);
	uint32_t cluster_id; /* RFC 4456 7; 0: the router id */
	/* number of equal paths that forward together; 0 and 1: the best path alone */
	unsigned max_paths;
	unsigned crowd; /* with so many paths imports of a destination wait for others; 0: 64 */
	/* limit per table; 0: an eighth of the destinations, at least 65,536 */
	uint32_t tombstones_max;
	/*
	 * Called on the thread of the shard: cursor `c` (JOURNAL_EVICT) held back more than
	 * tombstones_max tombstones and was evicted. The next journal_read() returns -ESTALE. A
	 * hint: the consumer may have unsubscribed since.
	 */
	void (*evicted)(void *ctx, struct journal_cursor *c);
	void *evicted_ctx;
	bool next_hop_tracking; /* false: every next hop is taken as resolvable */
	/* called at the end of a work slice that appended to the journal */
	void (*wake_consumers)(void *ctx);
	void *wake_ctx;
	/*
	 * Passed on to the fib thread by control. False: no memory; the shard asks again in a later
	 * turn.
	 */
	bool (*ask_next_hop)(void *ctx, const struct nexthop_message *m);
	void *ask_ctx;
};

/* Fields of shard_config that may change at run time, with the same meaning of 0. */
struct shard_settings {
	uint32_t cluster_id;
	unsigned max_paths;
	uint32_t tombstones_max;
};

/* Data of a peer for evaluation and import; the shard keeps a copy. */
struct shard_peer {
	struct peer_id id;
	struct vrf_id vrf;
	struct ip_addr addr;
	bool external;
	bool multihop; /* lifts the check of the next hop's subnet */
	bool rr_client; /* RFC 4456: client; routes of a client are reflected to all peers */
	bool dynamic; /* of a listen range: its group is bounded, not each peer (rib/table/swap.h) */
	/* how often each number of our own may occur in an AS path: shard_config.own_asn, local_as */
	uint8_t allow_as_in[FAMILY_COUNT];
	uint32_t asn;
	uint32_t local_as; /* our number towards the peer; 0: shard_config.own_asn */
	uint64_t group_key; /* policy_group_key() of its group */
	uint32_t router_id; /* known when the session is up */
};

/* Creates `inputs` pairs of rings, one per session thread. 0, -ENOMEM, -EINVAL (too many). */
int shard_create(const struct shard_config *config, unsigned inputs, struct shard **out);
void shard_destroy(struct shard *s);
struct shard_input *shard_input(struct shard *s, unsigned index);
/* Any thread: the number of records of the input that the shard has done. */
uint64_t shard_records_done(const struct shard *s, unsigned index);

/*
 * Tables come and go on the thread of the shard (before the start: on any thread). All shards give
 * a table the same id, so with several shards the id is chosen first: shards_table_unused().
 *
 * 0; -EEXIST: there is a table of that key; -EBUSY: the id is in use; -EINVAL: id or vrf out of
 * range; -ENOMEM.
 */
int shard_table_create(struct shard *s, struct table_id id, struct vrf_id vrf, enum family family);
/*
 * As shard_table_create(), with the lowest id that is not in use: for a single shard, or before the
 * start. With -EEXIST *out is the id of the table. -ENOMEM also without a free id.
 */
int shard_table_add(struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out);
/*
 * Removes a table without paths and without a walk. shard_table_find() does not find the table any
 * more. The id and the memory stay until all cursors have passed the last journal entry of the
 * table and a grace period is over, so a reader of an entry can use the table. Readers that keep
 * the id or the table for longer (update groups) end before. 0, -ENOENT; -EBUSY: paths, jobs of a
 * walk or the VPN instance are left.
 */
int shard_table_remove(struct shard *s, struct table_id id);
/* Any thread. -ENOENT without the table. Takes the same time for any number of tables. */
int shard_table_find(
	const struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out);
/* Any thread; a reader keeps the table until its next quiescent report. NULL: the id is unused. */
struct dest_table *shard_table(const struct shard *s, struct table_id id);
/* Of an id in use; the family of an unused id is FAMILY_COUNT. In a read section. */
void shard_table_key(
	const struct shard *s, struct table_id id, struct vrf_id *vrf, enum family *family);
/* Any thread. Ids in use are below, with gaps; never falls. */
unsigned shard_table_count(const struct shard *s);
struct attr_table *shard_attrs(const struct shard *s);
struct journal *shard_journal(const struct shard *s);

/*
 * Thread of the shard. A new max_paths evaluates all destinations again in a sliced walk. A new
 * cluster id applies to later input.
 */
void shard_settings(struct shard *s, const struct shard_settings *settings) RUNS_ON(role_rib);

/* ---- commands, on the thread of the shard ---- */

/*
 * Adds a peer without import policies: routes of an external peer are refused (RFC 8212), routes of
 * an internal peer are accepted. 0, -EINVAL (id), -EEXIST, -ENOMEM.
 */
int shard_peer_add(struct shard *s, const struct shard_peer *p) RUNS_ON(role_rib);
/*
 * Changes rr_client, multihop, allow_as_in, local_as without touching routes of the peer. multihop
 * evaluates next hops again in a sliced walk; allow_as_in and local_as apply to later input, and to
 * kept routes as a replay does. Properties of the session (asn, router_id, external) stay. 0, -ENOENT, -EINVAL
 * (different address or VRF), -ENOMEM.
 */
int shard_peer_change(struct shard *s, const struct shard_peer *p) RUNS_ON(role_rib);
/* 0, -ENOENT; -EBUSY: shard_peer_idle() is false. */
int shard_peer_remove(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
/* True if the peer has no session, no routes and no job of a walk; also for an unknown peer. */
bool shard_peer_idle(const struct shard *s, struct peer_id id) RUNS_ON(role_rib);
/*
 * Memory is short and this peer uses most: flushes routes of the peer and drops its UPDATEs until
 * RIB_SESSION_DOWN, which must follow. shard_peer_spare(): there is no session to end; the shard
 * accepts UPDATEs again.
 */
void shard_peer_evict(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
void shard_peer_spare(struct shard *s, struct peer_id id) RUNS_ON(role_rib);
/*
 * Sets the import policy for later announcements of a peer and family. Earlier routes stay until
 * the peer announces them again (ROUTE-REFRESH) or a replay; retained routes of an absent peer are
 * replayed at once. After return the old policy is unused; a running replay continues with the new
 * policy.
 */
void shard_peer_import(struct shard *s, struct peer_id id, enum family family,
	const struct policy *policy) RUNS_ON(role_rib);
/*
 * keep_all_routes. On: the shard stores the received attributes with the accepted ones (struct
 * rib_path), and keeps a route that import policy or a loop refuses with PATH_REJECTED; earlier
 * routes are kept when announced again. Off: a sliced walk drops the received attributes and
 * refused routes, after the end of a running replay.
 */
void shard_peer_keep(struct shard *s, struct peer_id id, enum family family, bool keep)
	RUNS_ON(role_rib);
/*
 * Evaluates all kept routes of the peer and family by the current import policy, in slices, and
 * publishes changed results. A second request or a new policy extends a running replay up to the
 * current position: at most one more lap. Returns the number of the replay, done when
 * adj_rib_in_counts.replays_done reaches the number; 0 for an unknown peer. Replays retained routes
 * too, without a session.
 */
uint64_t shard_peer_replay(struct shard *s, struct peer_id id, enum family family)
	RUNS_ON(role_rib);
/*
 * Takes references on a new set of VRPs and on the records that changed (vrps_difference()). Later
 * routes are validated by the new set. Kept routes under a policy that matches `validation` are
 * evaluated again, in slices, if a changed record covers their prefix; a call during such a walk
 * evaluates all of these routes. Never asks a peer (RFC 9324).
 */
void shard_validation(struct shard *s, struct vrps *vrps, struct vrps *changed) RUNS_ON(role_rib);
/* Any thread: true while the walk of shard_validation() is unfinished. */
bool shard_validating(const struct shard *s);
/*
 * A plan is the set of peers and families of a table whose import rules one commit changes. From
 * shard_plan_begin() on, changed paths of these peers carry `generation` (1 to PATH_GENERATIONS; 0:
 * none), so that update groups know which paths of a destination the new rules have evaluated.
 *
 * Make before break: a path refused by import policy stays in use (PATH_HELD) while the destination
 * has no other usable path and another peer of the plan that `supplies` has not finished. A peer supplies
 * if the old rules refused routes of the peer, or if not all of its routes are known: no other peer can have
 * a further path. A path that the peer withdraws, or that ends with the session, is not held. A second plan
 * joins a running plan, which then waits for the peers of both.
 */
void shard_plan_begin(struct shard *s, struct peer_id id, enum family family, unsigned generation,
	bool supplies) RUNS_ON(role_rib);
/*
 * The new rules have evaluated all routes of this peer, or never will. A sliced walk drops paths
 * that are no longer held.
 */
void shard_plan_done(struct shard *s, struct peer_id id, enum family family) RUNS_ON(role_rib);
/* Any thread: number of held paths. */
uint64_t shard_held(const struct shard *s);
/*
 * Announces a prefix from this router (`networks`, redistribution); NULL `attrs` withdraws. Each
 * call brings the attributes; equal sets are shared. `source` is stored in the path:
 * rib_path_source(). `after`: flags of PATH_AFTER. 0, -ENOENT (no table), -ENOMEM.
 */
int shard_originate_from(struct shard *s, struct vrf_id vrf, enum family family,
	const struct prefix *p, enum route_source source, unsigned after,
	const struct attr_set *attrs) RUNS_ON(role_rib);
/* As shard_originate_from(), from SOURCE_NETWORK. */
int shard_originate(struct shard *s, struct vrf_id vrf, enum family family, const struct prefix *p,
	const struct attr_set *attrs) RUNS_ON(role_rib);
/*
 * ---- VPN instances: routes leak by route targets (docs/decisions/0023) ----
 *
 * A path of the tables (default, vpnv4-unicast) and (default, vpnv6-unicast) is imported into the
 * unicast table of each instance that imports one of its targets. An imported path has PATH_IMPORTED,
 * the label of its source, and a path id of this shard (shard_path_origin()); its next hop resolves
 * in the VRF of its peer. The best own path of a destination of an instance is exported: as a path
 * of PEER_SELF in the VPN table, and into the other local instances that import one of its targets.
 * Own are the paths of sessions, `networks` and static routes of the instance, not imported paths.
 */
#define SHARD_INSTANCES_MAX 4096u

struct shard_instance {
	struct vrf_id vrf; /* 1 to SHARD_INSTANCES_MAX - 1 */
	struct vpn_rd rd; /* of exported routes; 0: the instance exports nothing */
	uint32_t label; /* of exported routes; RIB_LABEL_NONE: the instance exports nothing */
	/* lent for the call; the shard keeps copies */
	const struct ext_community *import_targets, *export_targets;
	unsigned import_count, export_count;
	/* NULL: permit. In use until the next shard_instance_set() or the end of the removal. */
	const struct policy *import_policy, *export_policy;
	/*
	 * Most destinations with a path, of both families; 0: no limit. An import above the limit is
	 * refused, and repeated when there is room. Own paths count and are never refused.
	 */
	uint32_t max_routes;
};

/*
 * Adds or changes an instance. Routes follow in slices: what the change adds, removes or evaluates
 * differently. The tables of the instance, and the VPN tables, must exist before; a family without
 * a table does not leak. 0; -EINVAL (vrf); -ENOMEM: nothing changed, but for the policies.
 */
int shard_instance_set(struct shard *s, const struct shard_instance *i) RUNS_ON(role_rib);
/*
 * Withdraws all that the instance imports and exports, in slices. shard_instance_set() meanwhile
 * keeps the instance. 0, -ENOENT.
 */
int shard_instance_remove(struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/*
 * True if routes have followed all changes of the instance; after shard_instance_remove() also: the
 * instance is gone, its tables have no imported path, and its policies are unused. True for an
 * unknown instance.
 */
bool shard_instance_idle(const struct shard *s, struct vrf_id vrf) RUNS_ON(role_rib);
/*
 * True: a VPN route of a peer with route refresh is stored only while an instance imports a target
 * of the route, unless the peer has keep_all_routes. Other routes are dropped, at once or in slices.
 * When an instance imports a further target, and after a change to false, the peers must be asked
 * for their routes again. Without an instance, and at first, all routes are stored.
 */
void shard_vpn_imported_only(struct shard *s, bool on) RUNS_ON(role_rib);
struct shard_instance_counts {
	uint64_t imported, exported; /* paths */
	/* imports refused because of max_routes since the last attempt to import them */
	uint64_t refused;
	/*
	 * paths without room in their prefixes since the last attempt (rib/shard/shard_leak_crowd.c), and
	 * the peer of the last one
	 */
	uint64_t crowded;
	struct peer_id crowded_by;
};
/* Any thread. Zeros for an unknown instance. */
void shard_instance_counts(
	const struct shard *s, struct vrf_id vrf, struct shard_instance_counts *out);
/*
 * Any thread, of a path read from a table: the source of an imported path. False if the path is not
 * imported.
 */
struct leak_origin;
bool shard_path_origin(const struct shard *s, const struct rib_path *p, struct leak_origin *out);

/* An answer or change from the fib thread; evaluates paths with that next hop in a sliced walk. */
void shard_next_hop(struct shard *s, const struct nexthop_message *m) RUNS_ON(role_rib);

/*
 * A report of the fib thread. A destination that is installed again or no longer gets a journal
 * entry, so that consumers read the destination. Clears r->busy when done.
 */
void shard_report(struct shard *s, struct shard_report *r) RUNS_ON(role_rib);

/* Puts verdicts and decisions into `tap` from now on; NULL: ends. Lent until the next call. */
void shard_trace(struct shard *s, struct trace_tap *tap) RUNS_ON(role_rib);
/*
 * Puts changed paths of peers into `ring` from now on; NULL: ends. Lent until the next call.
 */
void shard_monitor(struct shard *s, struct path_ring *ring) RUNS_ON(role_rib);

/*
 * One turn of the loop: batches, slices of walks, reclaim. Monotonic ns. True if more work is due.
 * The thread of the shard; while it sleeps also the session thread, for a small run (thread_do()).
 */
bool shard_work(struct shard *s, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_rib);
/*
 * Input alone, for a caller to whom a slice of shard_work() is too long: in a shard that has walks, leaked
 * routes or freed memory to look after, or that waits, nothing happens. False: shard_work() is due.
 */
bool shard_help(struct shard *s, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_rib);
/*
 * After shard_work() returned true: true if the work waits for consumers of the journal.
 * journal_waiter() wakes the shard; polling every 1 ms is enough.
 */
bool shard_waits(const struct shard *s) RUNS_ON(role_rib);

/* Any thread: counters of a family of a peer. */
void shard_peer_counts(const struct shard *s, struct peer_id id, enum family family,
	struct adj_rib_in_counts *out);
/*
 * Any thread: refused prefixes by cause since the session came up; for REFUSED_NEXT_HOP the
 * accepted paths that have no valid next hop now. False if the peer had no refused prefix since
 * shard_peer_add().
 */
bool shard_peer_refused(
	const struct shard *s, struct peer_id id, enum family family, uint64_t out[REFUSED_CAUSES]);
/*
 * Any thread: bitmap of peers 64 * word to 64 * word + 63, word < PEER_WORDS. A bit is set while
 * shard_peer_refused() counts a cause that raises an alarm (refused_alarms()), and may stay set
 * until the next session of the peer.
 */
uint64_t shard_ailing(const struct shard *s, enum family family, unsigned word);
/* Main: the remembered refusals of a prefix, the newest first; as refused_ring_find(). */
unsigned shard_refused_find(const struct shard *s, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max) RUNS_ON(role_main);
/* Main: the last changes of a prefix; as history_find() and history_policy_name(). */
unsigned shard_history_find(const struct shard *s, struct vrf_id vrf, enum family family,
	struct vpn_rd rd, const struct prefix *p, struct history_change *out, uint64_t since_ms[2])
	RUNS_ON(role_main);
/* Main: as history_longest(). */
int shard_history_longest(const struct shard *s, struct vrf_id vrf, enum family family,
	struct vpn_rd rd, const struct ip_addr *a) RUNS_ON(role_main);
const char *shard_history_policy(const struct shard *s, uint16_t policy) RUNS_ON(role_main);
/* Main: the remembered refusals and withdrawals of refused routes, all of them, newest first. */
unsigned shard_refused_all(const struct shard *s, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct refused_route *out, unsigned max) RUNS_ON(role_main);
/*
 * Any thread: estimated bytes for this peer: paths with destinations, and the attribute sets that
 * this peer brought first. A set of several peers counts for the first peer.
 */
size_t shard_peer_memory(const struct shard *s, struct peer_id id);
/* Readers: copies the data of a peer, with the values of the session. False: unknown peer. */
bool shard_peer_peek(const struct shard *s, struct peer_id id, struct shard_peer *out);
/*
 * Readers: whether a path is stale, and the input of decision_order() for a path (of a rejected
 * path the received attributes).
 */
bool shard_path_stale(const struct shard *s, enum family family, const struct rib_path *p);
void shard_decision_input(
	const struct shard *s, const struct rib_path *p, struct decision_input *out);
/*
 * Monotonic ns when the oldest message behind journal entries up to `sequence` was read; 0:
 * unknown. For update_to_fib_ns.
 */
uint64_t shard_received_ns(const struct shard *s, uint64_t sequence);
/*
 * Any thread: as shard_received_ns(), for each message behind entries after `after` up to
 * `sequence`; messages read within 200 us share the time of the oldest. *at starts at 0. False at
 * the end.
 */
bool shard_received_next(const struct shard *s, uint64_t after, uint64_t sequence, uint64_t *at,
	uint64_t *received_ns);
/* Readers: the reason of a rejected path; DECISION_EQUAL if the path is not rejected. */
enum decision_reason shard_path_refused(const struct rib_path *p);
/* Readers: the cause of shard_path_refused(); only of a rejected path. */
enum refused_cause shard_path_refusal(const struct rib_path *p);
/* Readers: the received attributes, kept by keep_all_routes; NULL if not kept. */
const struct attr_packed *shard_path_received(const struct shard *s, const struct rib_path *p);
/*
 * Readers: the loop (as-loop, originator-loop, cluster-loop) for which the shard would refuse these
 * attributes from that peer before policy, with the given allow_as_in and cluster id;
 * DECISION_EQUAL without a loop.
 */
enum decision_reason shard_loops(const struct shard *s, struct peer_id id, unsigned allow_as_in,
	uint32_t cluster_id, const struct attr_packed *a);
uint32_t shard_cluster_id(const struct shard *s); /* RFC 4456 7; any thread */
/*
 * Any thread: changes lost for lack of memory, and records that name an unknown peer, session or
 * table. 0 in normal operation.
 */
uint64_t shard_failures(const struct shard *s);
/* Any thread: hash statistics of the shard's table of next hops. */
const struct hash_probes *shard_next_hop_probes(const struct shard *s);
/* Any thread: consumers evicted because of `tombstones_max`. */
uint64_t shard_evictions(const struct shard *s);
