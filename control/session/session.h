/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The speaker runs the BGP sessions (RFC 4271) of one session thread. The speaker owns their
 * sockets and buffers, performs the actions that fsm_step() returns, decodes UPDATEs into the
 * batches of the shards, and runs the export (control/export/update_group.h).
 *
 * Owner: the session thread. Main calls the functions marked role_session through thread_call().
 * The speaker reports to main through the `event` callback, which posts each event.
 *
 * Lifetime: speaker_create() before the thread starts, speaker_destroy() after the thread has
 * stopped.
 */
#pragma once

#include "control/config/config.h"
#include "control/base/threads.h"
#include "control/session/fsm.h"
#include "control/session/host_socket.h"
#include "control/export/update_group.h"
#include "lpm/base/base.h"
#include "lpm/base/hist.h"
#include "rib/policy/policy.h"
#include "rib/shard/shard.h"
#include "rib/table/swap.h"

struct netns;
struct arena;
struct qsbr;
struct speaker;
struct thread;
struct record_file;
struct trace_tap;

enum session_event_kind {
	SESSION_UP,
	SESSION_DOWN,
	SESSION_REFRESH_SENT, /* our ROUTE-REFRESH was sent */
	/*
	 * framed: the shards have received the EoRR; not framed: the answer has ended and the
	 * shards have handled all of the answer
	 */
	SESSION_REFRESH_DONE,
	/*
	 * a job failed, see `reason`: the session ended, or the stale timer expired, before the end
	 * of the answer or of the export; or memory was short
	 */
	SESSION_REFRESH_FAILED,
	/*
	 * the initial table, a refresh or the differences of new rules in `family` are in the
	 * output buffer of this peer
	 */
	SESSION_EXPORT_DONE,
	/*
	 * a peer in one of speaker_ranges() has connected from `addr`; the connection waits for
	 * session_add()
	 */
	SESSION_DYNAMIC,
	SESSION_DYNAMIC_GONE, /* a dynamic session is down; main should remove the session */
	SESSION_SLOW, /* the peer is slow in `family`; `reason`: the limit that was reached */
	SESSION_SLOW_END, /* the peer is slow no more */
};

struct session_event {
	enum session_event_kind kind;
	struct peer_id peer;
	enum family family;
	bool framed; /* enhanced route refresh: BoRR and EoRR delimit the answer or the refresh */
	/* as given to session_refresh_*() or session_export_job(); 0: no job */
	uint32_t job;
	/* a string literal. SESSION_REFRESH_FAILED: for the result of the job; SESSION_SLOW */
	const char *reason;
	bool on_link; /* SESSION_UP: the peer is in a subnet of an interface that is up */
	struct vrf_id vrf; /* SESSION_DYNAMIC */
	struct ip_addr addr; /* SESSION_DYNAMIC */
};

/*
 * True if speaker_config.event_reserve() reserves memory for `e`: session up and down, dynamic
 * events, slow peers, and the end of a job.
 */
bool session_event_reserved(const struct session_event *e);

/* The state of the prefix limit (max_prefixes) of one peer and family. */
enum limit_level {
	LIMIT_KEPT, /* below the threshold, or no limit */
	LIMIT_NEAR, /* threshold_percent is reached */
	/* the limit was exceeded since the session came up; stays while the peer is held down */
	LIMIT_PASSED,
};

/* Orders for labels on their way to the fib thread and back; memory of the speaker. */
#define SPEAKER_LABELS 256u
struct speaker_labels {
	struct thread_mail mail; /* of the sender */
	void *ctx; /* speaker_config.ctx */
	unsigned count;
	struct swap_order order[SPEAKER_LABELS];
};

struct speaker_config {
	struct arena *arena;
	/*
	 * readers of the RIB; the idle and busy callbacks of the thread are speaker_idle() and
	 * speaker_busy()
	 */
	struct qsbr *readers;
	const struct shards *shards; /* the speaker uses input 0 of each shard */
	/* `here`: little work, which may be done on this thread, while the speaker holds nothing of the RIB. */
	void (*wake_shard)(void *ctx, unsigned shard, bool here);
	void (*event)(void *ctx, const struct session_event *e); /* called on the session thread */
	/*
	 * Called on the session thread before an action that causes events: reserves memory for
	 * `count` events. Each event for which session_event_reserved() is true uses one
	 * reservation; the receiver may drop all events without a reservation. Returns 0, or
	 * -ENOMEM: then the action fails. event_release() returns unused reservations. Both may be
	 * NULL.
	 */
	int (*event_reserve)(void *ctx, unsigned count);
	void (*event_release)(void *ctx, unsigned count);
	/*
	 * Labels for VPN routes with our next hop (rib/table/swap.h; .arena is ignored). labels() sends
	 * the orders to the fib thread (fib_feed_swaps()); speaker_labels() takes the answers. NULL:
	 * such routes are not advertised.
	 */
	struct swaps_config swaps;
	void (*labels)(void *ctx, struct speaker_labels *l);
	void *ctx;
	uint32_t asn, router_id;
	uint16_t tcp_port; /* 179 */
	/*
	 * RFC 4724, restarting speaker: forwarding continues while this process restarts. The OPEN
	 * lists the families of the session, so peers keep our routes.
	 */
	bool restarts;
	/*
	 * The process has restarted and forwarding has continued: R and F bits in the OPEN, and
	 * nothing is advertised until speaker_restart_end().
	 */
	bool restarted;
};

int speaker_create(const struct speaker_config *c, struct speaker **out);
void speaker_destroy(struct speaker *s);

/* Callbacks of struct thread_config; ctx is the speaker. */
int speaker_start(void *ctx, struct thread *self);
/* Sends Cease / Administrative Shutdown to all peers; does not wait for the peers to close. */
void speaker_stop(void *ctx);
bool speaker_work(void *ctx, uint64_t now_ns, uint64_t deadline_ns);
void speaker_idle(void *ctx);
void speaker_busy(void *ctx);

/*
 * Puts messages of all sessions, and evaluations of export, into `tap` from now on (rib/shard/trace.h);
 * NULL: ends. Lent until the next call. A sent message is traced when it enters the output buffer.
 */
void speaker_trace(struct speaker *s, struct trace_tap *tap) RUNS_ON(role_session);

/*
 * Copies BGP4MP records (RFC 6396 4.4) into these files from now on: each message that peers of the default VRF send, and
 * changes of the states of these peers. The files are lent until the next call.
 */
void speaker_record(struct speaker *s, struct record_file *const *files, unsigned count)
	RUNS_ON(role_session);

/*
 * The interfaces of the host and their addresses, for own next hops and for `link_sensitive`. An
 * interface comes before its addresses. Copied; without memory the report is logged and lost.
 */
struct speaker_interface {
	struct vrf_id vrf;
	unsigned ifindex; /* in the namespace of the VRF */
	uint16_t zone;
	bool present, up; /* up: set up, and with carrier */
	bool returns; /* after the end of keelfwd it comes back with another number: keel0 */
};
void speaker_interface(struct speaker *s, const struct speaker_interface *r) RUNS_ON(role_session);
/* keelfwd has ended: connections keep their local ends over keel0 until the next keelfwd has keel0 (`lost` false). */
void speaker_forwarder(struct speaker *s, bool lost) RUNS_ON(role_session);
struct speaker_address {
	struct vrf_id vrf;
	unsigned ifindex;
	struct ip_addr local;
	struct prefix subnet;
	bool present;
};
void speaker_address(struct speaker *s, const struct speaker_address *r) RUNS_ON(role_session);
/* The targets that our instances import, for rt-constraint (RFC 4684). 0, -ENOMEM: as before. */
int speaker_targets(struct speaker *s, const uint64_t *target, unsigned count)
	RUNS_ON(role_session);
/* The fib thread has written the results into `l`. */
void speaker_labels(struct speaker *s, struct speaker_labels *l) RUNS_ON(role_session);
/* Any thread. */
void speaker_label_figures(const struct speaker *s, struct swaps_figures *out);
/* swaps_wanting() */
unsigned speaker_labels_wanting(const struct speaker *s, struct swap_share *wanting,
	struct swap_share *most) RUNS_ON(role_session);
enum speaker_awaited {
	NOT_AWAITED,
	AWAITED,
	AWAITED_ON_LINK, /* the peer was in a subnet of an interface */
};
/*
 * True if each configured peer with a session has sent its table (RFC 4724 4.1), each other peer is not
 * awaited, or away behind a link that is down, and the shards have the whole input.
 */
bool speaker_restart_complete(struct speaker *s,
	enum speaker_awaited (*awaited)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr),
	void *ctx) RUNS_ON(role_session);
/*
 * The process ends for good, or forwarding has ended: speaker_stop() ends all sessions by Cease. With
 * config.restarts and without this call speaker_stop() closes sessions with graceful restart without a
 * NOTIFICATION, so that the peers keep the routes for the next process.
 */
void speaker_restart_cancel(struct speaker *s) RUNS_ON(role_session);
/* False: a restart has not ended. */
bool speaker_advertises(const struct speaker *s) RUNS_ON(role_session);
/* Ends the restart: advertisements begin. */
void speaker_restart_end(struct speaker *s) RUNS_ON(role_session);

/* Any thread. */
enum limit_level speaker_limit_level(const struct speaker *s, struct peer_id id, enum family f);
enum limit_level speaker_limit_out_level(
	const struct speaker *s, struct peer_id id, enum family f); /* max_prefixes_out */
/* Any thread. True if the peer is slow in this family (`slow_peer`). */
bool speaker_is_slow(const struct speaker *s, struct peer_id id, enum family f);

/*
 * Listens in this VRF on both address families. Sessions of the VRF connect in the namespace `netns`
 * (NULL for `default`), lent until speaker_unlisten(). 0, -errno.
 */
int speaker_listen(struct speaker *s, struct vrf_id vrf, const struct netns *netns)
	RUNS_ON(role_session);
/* True if each update group has members: groups of removed peers read no table any more. */
bool speaker_groups_gone(const struct speaker *s) RUNS_ON(role_session);
/* After the last session of the VRF. */
void speaker_unlisten(struct speaker *s, struct vrf_id vrf) RUNS_ON(role_session);

/*
 * Replaces the ranges (`listen_ranges`) from which unconfigured peers may connect; copies `ranges`.
 * 0, -ENOMEM.
 *
 * A connection from a range is held for 5 s; at most 64 connections are held, one for each address.
 * The speaker reports SESSION_DYNAMIC for each held connection. session_add() for the address takes
 * the connection, also when the configuration is not `dynamic`. An address with a session never
 * causes SESSION_DYNAMIC, even if the session is down.
 *
 * A dynamic session without a connection reports SESSION_DYNAMIC_GONE, once: if session_add() found
 * no held connection, if the session or the attempt ended, or if session_reset() or
 * session_update() ended the session. The report waits while routes are retained (RFC 4724) or
 * while max_prefixes holds the peer down. After the report the session waits for session_remove().
 * A new connection from the address is held meanwhile, and its SESSION_DYNAMIC follows
 * SESSION_DYNAMIC_GONE.
 *
 * If `asn` is 0, the OPEN of the peer determines the AS number and whether the session is external:
 * see session_view.remote_asn and .external.
 *
 * The kernel cannot exempt an address from the password of a range: a configured peer inside a
 * range with a password needs a password, too.
 */
struct speaker_range {
	struct vrf_id vrf;
	struct prefix prefix;
	const char *password; /* TCP-MD5 password of the prefix; NULL: no password. Copied */
	uint16_t tcp_mss; /* 0: none */
};
int speaker_ranges(struct speaker *s, const struct speaker_range *ranges, unsigned count)
	RUNS_ON(role_session);

/*
 * Rejects the held connection of an address with Cease / Connection Rejected (RFC 4486 4). A new
 * connection from the address causes a new SESSION_DYNAMIC.
 */
void speaker_refuse(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_session);

/*
 * Policies of a session by family. A NULL export policy rejects all routes of an external peer (RFC
 * 8212). An export policy is lent: sessions share update groups, so the policy stays valid until
 * every session with this policy has got a new policy or is removed, and, if a plan is running,
 * until speaker_plan_end().
 */
struct session_policies {
	const struct policy *export_policy[FAMILY_COUNT];
	/* for the `no_policy` warning only; the shard applies the import policy */
	bool has_import[FAMILY_COUNT];
};

/*
 * Adds a session; copies the configuration. The session starts at once unless `shutdown` is set. 0,
 * -ENOMEM, -EEXIST, -EINVAL (id).
 */
int session_add(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *p) RUNS_ON(role_session);
/* Removes a session; an established session ends with Cease / Peer De-configured (RFC 4486). */
void session_remove(struct speaker *s, struct peer_id id) RUNS_ON(role_session);
/* True if the shards have handled all records of a removed session, so that the id is free. */
bool session_gone(const struct speaker *s, struct peer_id id) RUNS_ON(role_session);
/*
 * Applies a new configuration of a peer. True if an established session was reset (Cease / Other
 * Configuration Change; with `shutdown`, Administrative Shutdown): config_peer_resets().
 */
bool session_update(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *p) RUNS_ON(role_session);
/*
 * Replaces the export policies; the session then sends the differences. The old policies may be in
 * use for longer: see struct session_policies.
 */
void session_export_policies(struct speaker *s, struct peer_id id, const struct session_policies *p)
	RUNS_ON(role_session);
/*
 * The steps of a commit (see update_groups_plan_begin()). begin: before the shards receive the new
 * import policies. settle: when all sessions of the speaker have the new export policies and rules.
 * end: when the commit has ended in one family.
 */
struct update_plan_part;
/* No peer of the plan supplies any more: routes that wait for one are withdrawn. */
void speaker_plan_supplied(struct speaker *s, enum family f) RUNS_ON(role_session);
void speaker_plan_begin(struct speaker *s, unsigned generation,
	const struct update_plan_part *parts, unsigned count) RUNS_ON(role_session);
void speaker_plan_settle(struct speaker *s) RUNS_ON(role_session);
void speaker_plan_end(struct speaker *s, enum family f) RUNS_ON(role_session);
/*
 * Requests SESSION_EXPORT_DONE with `job` (not 0) once the peer has been sent all differences that
 * result from the current policies and rules, including changes by session_update(). "Sent" means
 * written to the output buffer. SESSION_REFRESH_FAILED follows instead if the session ends first.
 *
 * Call after session_export_policies() or session_update(). Returns false, and no event follows, if
 * the session is not established, the family is not negotiated, or memory is short.
 */
bool session_export_job(struct speaker *s, struct peer_id id, enum family f, uint32_t job)
	RUNS_ON(role_session);

enum refresh_action {
	REFRESH_SENT,
	REFRESH_REPLAYED,
	REFRESH_READVERTISED,
	REFRESH_NO_OP,
	REFRESH_UNSUPPORTED,
	REFRESH_NOT_ESTABLISHED
};
/*
 * Requests the routes of a peer again for a soft reset in (keel-policy(7) rules 1 to 4):
 *	without keep_all_routes: sends a ROUTE-REFRESH if negotiated; REFRESH_SENT or REFRESH_UNSUPPORTED
 *	with keep_all_routes and route refresh: REFRESH_NO_OP, reason "keep-all-routes"
 *	with keep_all_routes only: REFRESH_REPLAYED; the caller must call shard_peer_replay()
 *
 * Without an established session: REFRESH_NOT_ESTABLISHED. `*reason` is a word for `unsupported`
 * and `no-op` ("no-route-refresh", "not-negotiated", "keep-all-routes", "out-of-memory"), or NULL.
 * Events carry `job`. REFRESH_SENT: the request was sent, is next in the output of the peer, or is
 * an earlier request that the peer has not begun to answer.
 */
enum refresh_action session_refresh_import(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
/*
 * Sends a ROUTE-REFRESH although routes are kept: fills the store when keep_all_routes is turned on
 * (keel-policy(7) rule 5).
 */
enum refresh_action session_refresh_fill(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
/*
 * Advertises the whole Adj-RIB-Out again (soft reset out), between BoRR and EoRR if enhanced route
 * refresh was negotiated: REFRESH_READVERTISED, with `*reason` "no-route-refresh" for a peer
 * without route refresh. SESSION_EXPORT_DONE or SESSION_REFRESH_FAILED follows.
 */
enum refresh_action session_refresh_export(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
const char *refresh_action_text(enum refresh_action a); /* "route-refresh-sent" ...: keel-rpc(7) */
/*
 * Resets a session with Cease / Administrative Reset. No routes are retained; a session that is
 * held down by max_prefixes or is in idle hold starts again at once. `text` (RFC 9003) may be NULL.
 * False: there was nothing to reset.
 */
bool session_reset(struct speaker *s, struct peer_id id, const char *text) RUNS_ON(role_session);
/*
 * Resets an established session with Cease / Other Configuration Change, for a change that
 * session_update() applies without a reset: keep_all_routes turned on for a peer without route
 * refresh (keel-policy(7) rule 5). False: the session was not established.
 */
bool session_reset_config(struct speaker *s, struct peer_id id) RUNS_ON(role_session);

/*
 * Memory is short and this peer uses the most: resets the session with Cease / Out of Resources
 * (RFC 4486 4) and flushes retained routes. The session starts again after its idle hold time.
 * False: the session was not established; retained routes are flushed anyway.
 */
bool session_out_of_resources(struct speaker *s, struct peer_id id) RUNS_ON(role_session);

/*
 * Ends of established sessions of a peer by cause. The causes of NOTIFICATION messages are the texts of
 * bgp_notification_text(). The last entry counts the ends for which no other entry is free.
 */
#define SESSION_FALLS 12
struct session_fall {
	const char *way; /* "sent", "received": a NOTIFICATION; "lost": no NOTIFICATION */
	const char *text; /* a literal; NULL: the entry and all entries after it are free */
	uint32_t count;
};

struct session_view {
	enum fsm_state state;
	uint64_t established_ns; /* start of the session; 0: not established */
	uint32_t established_count;
	/* "": no error. May contain the escaped shutdown message of the peer (RFC 9003) */
	char last_error[400];
	struct session_capability {
		bool local, remote, negotiated;
	} route_refresh, enhanced_route_refresh, four_octet_as, extended_message, graceful_restart,
		extended_next_hop, restart_notification; /* RFC 8538 N bit */
	/* the capabilities in the OPEN of the peer that fit: code, length and value of each */
	uint16_t offered_len;
	uint8_t offered[512];
	/* of the peer: how long its routes are retained after the session has ended */
	uint16_t restart_time_s;
	/*
	 * idle since max_prefixes was exceeded; session_reset() or a new limit starts the session
	 */
	bool held;
	bool link_sensitive; /* the session ends with its link */
	bool on_link; /* as in struct session_event */
	bool idle_hold; /* waits before the next attempt; session_reset() ends the wait */
	bool external;
	uint16_t remote_role; /* enum session_role, or above */
	uint32_t remote_asn, remote_identifier;
	uint16_t hold_time_s;
	struct ip_addr local_addr;
	struct host_socket_view socket; /* of session_peek_socket() */
	struct session_fall falls[SESSION_FALLS];
	/* octets in the output buffer that the kernel has not accepted, and unread input */
	size_t output_octets, input_octets;
	uint64_t messages_received, messages_sent, updates_received, updates_sent;
	/* of the labels for VPN routes with our next hop, of the peer or of its group; may be zero */
	uint32_t labels;
	uint64_t labels_refused;
	/* how often the hold timer was extended because received bytes were unread */
	uint64_t hold_rearmed;
	uint64_t keepalive_late_ns; /* maximum delay of our keepalives to this peer */
	struct {
		bool configured, negotiated;
		/* an external peer without a policy: RFC 8212 rejects all routes */
		bool no_import_policy, no_export_policy;
		uint64_t advertised;
		struct update_group_stats group; /* .id 0: in no group; not established */
		uint64_t requests_sent, requests_received, served, coalesced, borr_sent, eorr_sent,
			borr_received, eorr_received;
		bool end_of_rib_received, end_of_rib_sent;
		/* capability 64 of the peer lists the family; with the F bit */
		bool graceful_restart, forwarding_kept;
		/* stale routes of an earlier session are kept until End-of-RIB or a timer */
		bool retained;
		bool extended_next_hop; /* negotiated for this family (RFC 8950) */
		bool slow;
		uint64_t slow_count; /* how often the peer became slow, all sessions */
		uint32_t max_prefixes; /* 0: no limit */
		uint32_t max_prefixes_restart_s; /* 0: off */
		enum max_prefixes_action max_prefixes_action;
		uint8_t max_prefixes_threshold;
		/* since the session came up; also while the peer is held down */
		bool max_prefixes_exceeded, max_prefixes_out_exceeded;
		uint64_t max_prefixes_out_passed; /* how often, all sessions */
	} families[FAMILY_COUNT];
};
/* Fills `out`. False: no peer has this id. */
bool session_peek(struct speaker *s, struct peer_id id, struct session_view *out)
	RUNS_ON(role_session);

/* Asks the kernel about the connection of an established session. */
void session_peek_socket(struct speaker *s, struct peer_id id, struct session_view *out)
	RUNS_ON(role_session);

/* A peer in the index table of a table dump (RFC 6396 4.3.1). */
struct session_index {
	struct vrf_id vrf;
	struct ip_addr addr;
	uint32_t identifier; /* 0: the session is down */
	uint32_t asn; /* 0: not known yet */
};
/* Fills `out`. False: no peer has this id. */
bool session_index_peek(struct speaker *s, struct peer_id id, struct session_index *out)
	RUNS_ON(role_session);

/* What BMP reports of a session (RFC 7854 4.9, 4.10). */
#define MONITOR_MESSAGE_MAX 4096u
struct session_monitor {
	struct peer_id id;
	struct vrf_id vrf;
	bool up;
	uint32_t count; /* the number of the last session, unlike that of any other peer */
	struct ip_addr remote;
	/* the NOTIFICATION that ended the last session; length 0: none */
	uint16_t fall_len;
	bool fall_sent;
	uint16_t fall_event; /* RFC 4271 8.1: we ended the session without one; 0: the peer did */
	/* of a session that is up */
	bool as4; /* four-octet AS numbers */
	uint8_t families; /* negotiated: bits by enum family */
	uint64_t since_ns; /* Unix time */
	uint32_t asn, identifier;
	struct ip_addr local;
	uint16_t local_port, remote_port;
	uint64_t advertised[FAMILY_COUNT]; /* routes in Adj-RIB-Out */
	uint16_t sent_len, received_len; /* of the OPENs; 0: there was no memory to keep it */
	uint8_t sent[MONITOR_MESSAGE_MAX], received[MONITOR_MESSAGE_MAX], fall[MONITOR_MESSAGE_MAX];
};
/* Fills `out`. False: no peer has this id. */
bool session_monitor_peek(struct speaker *s, struct peer_id id, struct session_monitor *out)
	RUNS_ON(role_session);
/*
 * One thread, not the session thread: true if sessions began or ended, or peers were removed, since the
 * last call; sets their bits in `peers`.
 */
bool speaker_monitor_changed(struct speaker *s, uint64_t peers[PEER_WORDS]);

/*
 * Puts the names of changed routes of Adj-RIB-Out into `ring` from now on (rib/table/path_ring.h); NULL: ends. Lent until the next
 * call. speaker_out_named() reads a name: the members of its update group, a family and a table; false: the group is gone. The
 * routes are those of session_adj_out().
 */
struct path_change;
struct path_ring;
void speaker_monitor_out(struct speaker *s, struct path_ring *ring) RUNS_ON(role_session);
bool speaker_out_named(const struct speaker *s, const struct path_change *name, enum family *family,
	struct table_id *table, uint64_t peers[PEER_WORDS]) RUNS_ON(role_session);

/* Any thread: the delays of keepalives of all peers, in ns. */
void speaker_keepalive_late(const struct speaker *s, struct hist_summary *out);
const struct hist *speaker_keepalive_hist(const struct speaker *s);
/* Number of connections that are polled, because their peers send a steady stream of UPDATEs. */
unsigned speaker_streams(const struct speaker *s) RUNS_ON(role_session);
/* Any thread: the durations of busy turns of speaker_work(), in ns. */
void speaker_turns(const struct speaker *s, struct hist_summary *out);

/* Any thread: hash statistics of the advertised attribute sets. */
const struct hash_probes *speaker_exported_probes(const struct speaker *s);

/*
 * The last faulty messages of a peer, oldest first: UPDATEs with an error of RFC 7606, and each
 * message that ended a session. The list stays while the session is down and ends with the removal
 * of the peer.
 */
#define SESSION_FAULTS 16
#define SESSION_FAULT_TEXT 160
#define SESSION_FAULT_OCTETS 4096 /* kept of one message */
struct session_fault {
	double time_s; /* Unix time */
	uint8_t severity; /* enum bgp_severity */
	uint8_t family; /* enum family of the first prefix; FAMILY_COUNT: no prefix */
	uint32_t prefixes; /* count of announced prefixes */
	/* length of the message; octets kept in `octets`, fewer when memory is short */
	uint16_t len, kept;
	char text[SESSION_FAULT_TEXT]; /* description of the error */
	uint8_t octets[SESSION_FAULT_OCTETS];
};
/* Returns the count of entries; 0 also if no peer has this id. */
unsigned session_faults(struct speaker *s, struct peer_id id,
	struct session_fault out[SESSION_FAULTS]) RUNS_ON(role_session);
/* "treat-as-withdraw" etc. */
const char *session_fault_severity(const struct session_fault *f);

/*
 * Copies the attribute set that is advertised to a peer for `dest` into `out` (`size` octets), for
 * view adj-out of rib.routes. *label: of a VPN route; RIB_LABEL_NONE in unicast families. Returns
 * the size of the set, 0 if nothing is advertised, or -ENOSPC.
 */
int session_adj_out(struct speaker *s, struct peer_id id, enum family f, struct dest_id dest,
	struct attr_set *out, size_t size, uint32_t *label) RUNS_ON(role_session);
/*
 * The state of `dest` towards a peer (struct update_fate). False: the peer has no established
 * session with this family.
 */
bool session_fate(struct speaker *s, struct peer_id id, enum family f, struct dest_id dest,
	bool zero, struct update_fate *out) RUNS_ON(role_session);
