/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The speaker: BGP sessions of one session thread, RFC 4271. Sockets and buffers; performs what fsm_step()
 * returned; decodes UPDATEs into the shard's batches; runs the export (control/export/update_group.h).
 *
 * Writer: the session thread. Main asks by thread_call() of the functions marked role_session; events go to main
 * by the callback, which posts them.
 */
#pragma once

#include "control/config/config.h"
#include "control/session/fsm.h"
#include "control/export/update_group.h"
#include "lpm/base.h"
#include "lpm/hist.h"
#include "rib/policy.h"
#include "rib/shard.h"

struct arena;
struct qsbr;
struct speaker;
struct thread;

enum session_event_kind {
	SESSION_UP,
	SESSION_DOWN,
	SESSION_REFRESH_SENT, /* our ROUTE-REFRESH left */
	SESSION_REFRESH_DONE, /* framed: the EoRR was handed to the shard; else the answer ended, and the shards have done all of it */
	SESSION_REFRESH_FAILED, /* the session ended, or the stale timer ran, before EoRR */
	SESSION_EXPORT_DONE, /* a walk of `family` to this peer ended */
	SESSION_DYNAMIC, /* `addr` connected by one of speaker_ranges(); its connection is held for some seconds for a session_add() */
	SESSION_DYNAMIC_GONE, /* a session whose configuration is `dynamic` is down: to be removed */
};

struct session_event {
	enum session_event_kind kind;
	struct peer_id peer;
	enum family family;
	bool framed; /* enhanced refresh: BoRR and EoRR show the end */
	uint32_t job; /* the one given with session_refresh(), else 0 */
	const char *reason; /* SESSION_REFRESH_FAILED: a literal, for the job's result */
	struct vrf_id vrf; /* SESSION_DYNAMIC */
	struct ip_addr addr; /* SESSION_DYNAMIC */
};

/* A session up or down, a dynamic one coming or gone, the end of a job: reserved. ROUTE-REFRESH sent, a walk without a job: not. */
bool session_event_reserved(const struct session_event *e);

/* Where a peer's family stands, of its max_prefixes. */
enum limit_level {
	LIMIT_KEPT, /* or there is none */
	LIMIT_NEAR, /* threshold_percent is reached */
	LIMIT_PASSED, /* since the session came up; it stays so when the session was shut down for it */
};

struct speaker_config {
	struct arena *arena;
	struct qsbr *readers; /* RIB readers; the thread's idle/busy call speaker_idle/_busy */
	const struct shards
		*shards; /* each with its first input; several know each other as siblings */
	void (*wake_shard)(void *ctx, unsigned shard);
	void (*event)(void *ctx, const struct session_event *e); /* on the session thread */
	/*
	 * On the session thread: memory for `count` events, before the action that the events tell of. Each event for which
	 * session_event_reserved() is true takes one; the others may be dropped. 0; -ENOMEM: the action fails instead. Release: without the
	 * events. Both may be NULL.
	 */
	int (*event_reserve)(void *ctx, unsigned count);
	void (*event_release)(void *ctx, unsigned count);
	void *ctx;
	uint32_t asn, router_id;
	uint16_t tcp_port; /* 179 */
};

int speaker_create(const struct speaker_config *c, struct speaker **out);
void speaker_destroy(struct speaker *s);

/* struct thread_config's callbacks; ctx is the speaker. */
int speaker_start(void *ctx, struct thread *self);
void speaker_stop(void *ctx); /* Cease / Administrative Shutdown to all, without waiting for them */
bool speaker_work(void *ctx, uint64_t now_ns, uint64_t deadline_ns);
void speaker_idle(void *ctx);
void speaker_busy(void *ctx);

/* Any thread. */
enum limit_level speaker_limit_level(const struct speaker *s, struct peer_id id, enum family f);

/* Listens in that VRF (both address families). 0, -errno. */
int speaker_listen(struct speaker *s, struct vrf_id vrf) RUNS_ON(role_session);

/*
 * Who may come unasked (`listen_ranges`), instead of those before; copied. The connection of one who comes by them is held for 5 s (of
 * 64 at once at most; once for an address), and SESSION_DYNAMIC is told once for it; a session_add() of that address takes it. One
 * without `dynamic` in its configuration does so, too. An address for which there is a session, up or not, never causes the event.
 * A dynamic session that has no connection (any more) tells SESSION_DYNAMIC_GONE, once: when session_add() found none held, when the
 * session or its attempt ended, when session_reset() or session_update() ended it; not while its routes wait for its return
 * (RFC 4724), nor while max_prefixes holds it. It then waits for session_remove(), and refuses nobody: who comes from its address
 * meanwhile is held, and its SESSION_DYNAMIC comes after the _GONE. Of one whose `asn` is 0 the OPEN says the AS number and whether it
 * is external: session_view.remote_asn, .external. The kernel knows no exception to a range's password: a peer of its own within the
 * range has a password, too, or is never heard. 0, -ENOMEM.
 */
struct speaker_range {
	struct vrf_id vrf;
	struct prefix prefix;
	const char *password; /* TCP-MD5 for the whole prefix; NULL: none. Copied */
};
int speaker_ranges(struct speaker *s, const struct speaker_range *ranges, unsigned count)
	RUNS_ON(role_session);

/* Whom SESSION_DYNAMIC told of is not to be: Cease / Connection Rejected at once (RFC 4486 4). Who comes again is told of again. */
void speaker_refuse(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_session);

/* Policies of one family's two directions; NULL: none (RFC 8212). Lent until changed or the session is removed. */
struct session_policies {
	const struct policy *export_policy[FAMILY_COUNT];
	bool has_import[FAMILY_COUNT]; /* for `no_policy`; the import itself is the shard's */
};

/* The configuration is copied. Starts at once unless `shutdown`. 0, -ENOMEM, -EEXIST. */
int session_add(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *p) RUNS_ON(role_session);
/* Cease / Peer De-configured (RFC 4486) when established, and gone. */
void session_remove(struct speaker *s, struct peer_id id) RUNS_ON(role_session);
/* Of a removed one: all that the shards must hear of it they have done, and the id is free. */
bool session_gone(const struct speaker *s, struct peer_id id) RUNS_ON(role_session);
/* A new configuration of the same peer. True: the session had to be reset for it (Cease / Other Configuration Change). */
bool session_update(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *p) RUNS_ON(role_session);
/* Would session_update() reset it? */
bool session_update_resets(const struct config_peer *old, const struct config_peer *new_config);
/* Takes the new export policies; differences are sent. After return the old ones are not used any more. */
void session_export_policies(struct speaker *s, struct peer_id id, const struct session_policies *p)
	RUNS_ON(role_session);
/*
 * The plan of a commit (update_groups_plan_begin()): its begin, before the shards have the new import policies; the moment when all its sessions have
 * their new export policies and rules; its end in one family.
 */
struct update_plan_part;
void speaker_plan_begin(struct speaker *s, unsigned generation,
	const struct update_plan_part *parts, unsigned count) RUNS_ON(role_session);
void speaker_plan_settle(struct speaker *s) RUNS_ON(role_session);
void speaker_plan_end(struct speaker *s, enum family f) RUNS_ON(role_session);
/*
 * The end of such a change: SESSION_EXPORT_DONE with `job` (not 0) when this peer has been sent all differences that the policies and
 * rules make which it has now, those of session_update() included (they are in its output buffer; at once where there are none);
 * SESSION_REFRESH_FAILED when its session ends before. One of the two comes when true was returned. False: not established, or
 * not in that family, or no memory. To be called after session_export_policies() or session_update(), in the same thread_call() or later.
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
 * Import (keel-policy(7) rules 1 to 4): without keep_all_routes a ROUTE-REFRESH when both sides have it. With it REFRESH_REPLAYED when the
 * peer has no route refresh: nothing was done here, the caller lets the shard replay (shard_peer_replay()); REFRESH_NO_OP with reason
 * "keep-all-routes" when it has. *reason: a word for `unsupported` and `no-op` ("no-route-refresh", "not-negotiated", "keep-all-routes"),
 * else NULL. `job` comes back in events. REFRESH_SENT: it has left, or is the next thing to do so when the peer takes what is before it.
 */
enum refresh_action session_refresh_import(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
/* ROUTE-REFRESH although routes are kept: fills what keep_all_routes keeps when it is turned on (keel-policy(7) rule 5). */
enum refresh_action session_refresh_fill(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
/* Export: the whole Adj-RIB-Out again, between BoRR and EoRR where both sides have them. */
enum refresh_action session_refresh_export(struct speaker *s, struct peer_id id, enum family f,
	uint32_t job, const char **reason) RUNS_ON(role_session);
const char *refresh_action_text(enum refresh_action a); /* "route-refresh-sent" ...: keel-rpc(7) */
/*
 * Cease / Administrative Reset; nothing is retained, and one that max_prefixes holds, or that is in idle hold, starts again at once.
 * `text` (RFC 9003) may be NULL. False: there was nothing to reset.
 */
bool session_reset(struct speaker *s, struct peer_id id, const char *text) RUNS_ON(role_session);
/*
 * Cease / Other Configuration Change, for what session_update() does not reset by itself: keep_all_routes turned on for a peer without
 * route refresh, of which nothing is kept (keel-policy(7) rule 5). False: it was not established.
 */
bool session_reset_config(struct speaker *s, struct peer_id id) RUNS_ON(role_session);

/*
 * Memory is short, and this peer takes the most of it: Cease / Out of Resources (RFC 4486 4), nothing is retained, and the session tries again
 * after its idle hold time. False: it was not established; routes that wait for its return are flushed all the same.
 */
bool session_out_of_resources(struct speaker *s, struct peer_id id) RUNS_ON(role_session);

struct session_view {
	enum fsm_state state;
	uint64_t established_ns; /* when; 0: never, or not now */
	uint32_t established_count;
	char last_error
		[400]; /* "" : none. With what the peer's operator had to say (RFC 9003), escaped */
	struct session_capability {
		bool local, remote, negotiated;
	} route_refresh, enhanced_route_refresh, four_octet_as, extended_message, graceful_restart,
		extended_next_hop, restart_notification; /* RFC 8538 N bit */
	uint16_t restart_time_s; /* of the peer: how long its routes are kept when it is gone */
	bool held; /* idle since max_prefixes was passed; session_reset() or another limit starts it again */
	bool idle_hold; /* waits before it tries again; session_reset() ends that */
	bool external;
	uint32_t remote_asn, remote_identifier;
	uint16_t hold_time_s;
	struct ip_addr local_addr;
	uint64_t messages_received, messages_sent, updates_received, updates_sent;
	uint64_t hold_rearmed; /* hold timer put off because bytes waited that we had not read */
	uint64_t
		keepalive_late_ns; /* the latest keepalive of ours to this peer, against when it was due */
	struct {
		bool configured, negotiated;
		bool no_import_policy,
			no_export_policy; /* external: RFC 8212 says nothing passes */
		uint64_t advertised;
		struct update_group_stats group; /* .id 0: in none, not up */
		uint64_t requests_sent, requests_received, served, coalesced, borr_sent, eorr_sent,
			borr_received, eorr_received;
		bool end_of_rib_received, end_of_rib_sent;
		bool graceful_restart,
			forwarding_kept; /* the peer's capability 64 has the family, with the F bit */
		bool retained; /* routes of an earlier session are kept, stale, until its End-of-RIB or a timer */
		bool extended_next_hop; /* negotiated for this one (RFC 8950) */
		uint32_t max_prefixes; /* 0: no limit */
		uint32_t max_prefixes_restart_s; /* 0: off */
		enum max_prefixes_action max_prefixes_action;
		uint8_t max_prefixes_threshold;
		bool max_prefixes_exceeded; /* since the session came up; of a held one, why */
	} families[FAMILY_COUNT];
};
/* False: no such peer. */
bool session_peek(struct speaker *s, struct peer_id id, struct session_view *out)
	RUNS_ON(role_session);

/* Any thread: how late keepalives left, all peers, in ns. */
void speaker_keepalive_late(const struct speaker *s, struct hist_summary *out);
const struct hist *speaker_keepalive_hist(const struct speaker *s);
/* Any thread: how long the turns of speaker_work() took that had something to do, in ns. */
void speaker_turns(const struct speaker *s, struct hist_summary *out);

/* Any thread: of the attribute sets that are advertised. */
const struct hash_probes *speaker_exported_probes(const struct speaker *s);

/*
 * The last faulty messages of a peer, oldest first: UPDATEs with an error of RFC 7606, and every message that ended a session. They are
 * kept when the session is down, until the peer is removed from the configuration.
 */
#define SESSION_FAULTS 16
#define SESSION_FAULT_TEXT 160
#define SESSION_FAULT_OCTETS 4096 /* of one message */
struct session_fault {
	double time_s; /* Unix time */
	uint8_t severity; /* enum bgp_severity */
	uint8_t family; /* enum family, of the first prefix; FAMILY_COUNT: none */
	uint32_t prefixes; /* announced by the message */
	uint16_t len, kept; /* of the message; at `octets`, less where memory is short */
	char text[SESSION_FAULT_TEXT]; /* the reason in words */
	uint8_t octets[SESSION_FAULT_OCTETS];
};
/* How many; 0 also where there is no such peer. */
unsigned session_faults(struct speaker *s, struct peer_id id,
	struct session_fault out[SESSION_FAULTS]) RUNS_ON(role_session);
/* "treat-as-withdraw" and the like. */
const char *session_fault_severity(const struct session_fault *f);

/*
 * What is advertised to a peer: the exported set of a destination, 0 when none. For rib.routes view adj-out. Copies the set into `out` (room for
 * `size`); its size, 0 when nothing is advertised, or -ENOSPC.
 */
int session_adj_out(struct speaker *s, struct peer_id id, enum family f, struct dest_id dest,
	struct attr_set *out, size_t size) RUNS_ON(role_session);
