/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of struct apply. Main only.
 *	apply.c          start and end of peers, commits
 *	apply_effects.c  the effects of a commit on the peers
 *	apply_plan.c     the peers whose routes a commit has not evaluated yet
 *	apply_refresh.c  refreshes by command and by policy change, and their jobs
 *	apply_dynamic.c  dynamic peers
 *	apply_instances.c  VPN instances
 *	apply_history.c  confirmation, rollback, history
 *	apply_orders.c   calls of other threads
 *	preview.c        previews
 */
#pragma once

#include "control/apply/apply.h"
#include "control/apply/candidate.h"
#include "control/apply/commit.h"
#include "control/apply/history.h"
#include "control/apply/jobs.h"
#include "control/apply/peers_impl.h"
#include "control/apply/selector.h"
#include "control/apply/trail.h"
#include "lpm/base/netns.h"
#include "control/base/disk.h"
#include "control/base/layers.h"
#include "control/base/threads.h"
#include "control/session/session.h"

/*
 * Orders: main calls a function of a layer on the thread of the layer and waits for the result
 * (apply_orders.c). The order stays on the stack of main meanwhile. The kind names the function and
 * the member of the union.
 */
enum shard_order_kind {
	SHARD_PEER_ADD,
	SHARD_PEER_REMOVE,
	SHARD_PEER_IMPORT,
	SHARD_PEER_KEEP,
	SHARD_SETTINGS,
};
struct shard_order {
	enum shard_order_kind kind;
	struct shard *shard; /* of the thread */
	struct peer_id id;
	enum family family;
	union {
		const struct shard_peer *peer; /* ADD */
		const struct policy *import;
		bool keep;
		const struct shard_settings *settings;
	};
	int result;
};
/*
 * For each shard in turn. The result: of the last shard; of ADD and REMOVE, the first error, and
 * -EBUSY where one shard is busy.
 */
int shard_order(const struct layers *l, struct shard_order *o) RUNS_ON(role_main);

enum session_order_kind {
	SESSION_ORDER_LISTEN,
	SESSION_ORDER_UNLISTEN,
	SESSION_ORDER_GROUPS_GONE,
	SESSION_ORDER_RANGES,
	SESSION_ORDER_REFUSE,
	SESSION_ORDER_ADD,
	SESSION_ORDER_REMOVE,
	SESSION_ORDER_GONE,
	SESSION_ORDER_POLICIES,
	SESSION_ORDER_RESET_CONFIG,
	SESSION_ORDER_PEEK,
	SESSION_ORDER_REFRESH_IMPORT,
	SESSION_ORDER_REFRESH_FILL,
	SESSION_ORDER_REFRESH_EXPORT,
	SESSION_ORDER_PLAN_SUPPLIED,
	SESSION_ORDER_PLAN_END,
	SESSION_ORDER_TARGETS,
};
struct session_order {
	enum session_order_kind kind;
	struct speaker *speaker; /* session_order() sets it */
	struct peer_id id;
	enum family family;
	union {
		struct {
			struct vrf_id vrf;
			const struct netns *netns; /* LISTEN */
		} listen;
		struct {
			const uint64_t *at;
			unsigned count;
		} targets;
		struct {
			const struct speaker_range *at;
			unsigned count;
		} ranges;
		const struct session_event *refused; /* a SESSION_DYNAMIC */
		struct {
			const struct config_peer *config;
			const struct session_policies *policies;
		} add;
		const struct session_policies *policies;
		struct session_view *view; /* the result of PEEK */
		struct {
			uint32_t job;
			/* EXPORT: policies to set before the walk; NULL: none */
			const struct session_policies *policies;
			const char *reason; /* of the result */
		} refresh;
	};
	int result; /* of the function: 0 or -errno, a bool, or enum refresh_action */
};
int session_order(const struct layers *l, struct session_order *o) RUNS_ON(role_main);

void fib_order_via_default(const struct layers *l, bool yes) RUNS_ON(role_main);

/*
 * True if the shards keep refused routes: by keep_all_routes, or because changed VRPs must be
 * applied without a message to the peer (RFC 9324).
 */
bool apply_keeps(const struct config *c, const struct config_peer *p, enum family f);

/* The policies that the session of a peer and the shards run. */
struct applied {
	const struct policy *import[FAMILY_COUNT];
	bool keep[FAMILY_COUNT]; /* keep_all_routes */
	/* The shards store refused routes: by `keep`, or because the policy matches `validation`. */
	bool stored[FAMILY_COUNT];
	struct session_policies session;
};

/* A peer in the configurations before and after a commit. */
struct change {
	const struct config *old, *next;
	const struct config_peer *was, *is;
	struct peer_id id;
	struct session_view view; /* before the change */
};

struct apply_history;
struct apply_instances;
struct apply_plan;
struct apply_refreshes;
struct commit;
struct previews;
struct works;

struct apply {
	const struct config_host *host;
	const struct layers *layers;
	struct jobs *jobs;
	struct host_routes *host_routes;
	const char *config_file, *state_dir;
	void (*report)(void *ctx, const char *topic, json_t *members);
	void *report_ctx;
	void (*reloaded)(void); /* of apply_reload_signal() */
	int (*watch)(void *ctx, struct vrf_id vrf, const struct netns *netns);
	void (*unwatch)(void *ctx, struct vrf_id vrf);
	void (*peer)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present);
	void (*tunnels)(void *ctx, const struct config *c);
	int (*ports)(void *ctx, const struct config *next, bool restores, struct faults *f);
	struct rpki *rpki;
	struct bmp *bmp;
	struct mrt *mrt;
	void *watch_ctx;

	struct config *running;
	uint32_t revision; /* of the running document */
	struct candidates *candidates;
	struct trail *trail; /* NULL before apply_start() */
	uint32_t last_commit_id;
	uint64_t commits; /* since the start */
	struct disk *disk, *aside;
	unsigned saving; /* commits in force whose files are being written */
	unsigned saves; /* apply_save_files() on their way to the disk */
	json_t *in_file; /* the document of FILE, as last read or written */
	json_t *started; /* the document of the start: its values of the keys read at start hold */
	struct config_printer *printer; /* of FILE; on the thread of the disk */
	json_t *printed; /* the last document of `printer` */

	struct peers *peers;
	struct applied applied[PEER_MAX]; /* index: peer id */
	struct timer flush_timer;
	struct commit *under_way; /* NULL: no commit is under way */
	struct timer commit_timer;
	struct timer load_timer;
	struct load *loads; /* read, the oldest first */
	bool ends; /* apply_files_end(): documents of FILE are refused */
	struct apply_plan *plan;
	struct apply_refreshes *refreshes;
	struct apply_history *history;
	struct apply_instances *instances;
	struct previews *previews;
	uint64_t labels_rest_ns; /* end of the rest of swapped labels; 0: no rest (swap_range.h) */
};

/* Reports an event to subscribers; takes `members` over. */
void apply_report(struct apply *apply, const char *topic, json_t *members) RUNS_ON(role_main);
/*
 * Makes `next` the running configuration and takes `next` over. The caller then owns the previous
 * configuration.
 */
void apply_run(struct apply *apply, struct config *next) RUNS_ON(role_main);

/* ---- apply.c ---- */

/* Adds the peer to the shards and the speaker. 0, -errno (logged). */
int apply_peer_start(struct apply *apply, const struct config *c, const struct config_peer *p,
	struct peer_id id) RUNS_ON(role_main);
void apply_peer_stop(struct apply *apply, struct peer_id id) RUNS_ON(role_main);
struct shard_peer apply_shard_peer(struct peer_id id, const struct config_peer *c);
struct session_policies apply_policies_of(const struct config *c, const struct config_peer *p);
/* Gives the session other export policies; copies `want`. */
void apply_export_policies(struct apply *apply, struct peer_id id,
	const struct session_policies *want) RUNS_ON(role_main);
/*
 * apply_save() with the policy files. `was_files`: the texts before the commit; NULL: no file is compared. `restores`: writes policy files
 * without a later edit back first. done(): `files` and `left` of policy_files_compare() are lent.
 */
struct apply_saved {
	int err;
	json_t *files, *left;
};
void apply_save_files(struct apply *apply, json_t *was_files, bool restores,
	void (*done)(void *ctx, const struct apply_saved *r), void *ctx) RUNS_ON(role_main);
/* apply_commit_start() without apply_may_change(), when no commit is under way: keeld returns from a commit at any time. */
int apply_commit_begin(struct apply *apply, json_t *document, const struct apply_commit_order *o,
	void (*done)(void *ctx, struct apply_commit_result *r), void *ctx) RUNS_ON(role_main);
/* Finishes a commit under way; one that waits for the disk is refused. */
void apply_commit_make_way(struct apply *apply, const char *why) RUNS_ON(role_main);
/* False: a fault, and the ports are as before. */
bool apply_ports(struct apply *apply, const struct config *next, bool restores, struct faults *f)
	RUNS_ON(role_main);
/*
 * Carries out all changes of a commit under way. To be called before main changes peers, jobs or the
 * plan, and before main asks for the state of a peer: between two steps of a commit the threads have
 * the rules of different configurations.
 */
void apply_changes_finish(struct apply *apply) RUNS_ON(role_main);
/*
 * Adds an action of keeld itself to the audit trail. `fault`: why nothing was changed; NULL: the
 * running document is the result.
 */
void apply_audit(struct apply *apply, const char *from, const char *method, const char *fault)
	RUNS_ON(role_main);

/* ---- apply_effects.c ---- */

/* RFC 4456 7: the cluster id, or the router id. */
uint32_t apply_cluster_id(const struct config *c);
/* True if the import, or the export, of a family stays; the rules before a route is kept. */
bool apply_imports_same(const struct change *c, unsigned f);
bool apply_exports_same(const struct change *c, unsigned f);
bool apply_received_rules_same(const struct change *c);

/*
 * The changes of a commit, carried out in steps; each step is a turn of main and sends one message to
 * each thread, to the shards for at most 1,024 peers. `given` and `effects` are lent until apply_works_end().
 * NULL, without memory: the changes were carried out at once, peer by peer.
 */
struct works *apply_works_begin(struct apply *apply, const struct change *given, unsigned count,
	json_t *effects) RUNS_ON(role_main);
/* One step; true if more are due. */
bool apply_works_step(struct works *w) RUNS_ON(role_main);
void apply_works_end(struct works *w);
void apply_effect_removed(json_t *effects, const struct config_peer *p);

/* ---- apply_plan.c ---- */

int apply_plan_create(struct apply *apply) RUNS_ON(role_main);
void apply_plan_destroy(struct apply *apply) RUNS_ON(role_main);
/*
 * True while the plan of the family runs: routes of a peer are not evaluated by the new rules yet,
 * or shards hold paths.
 */
bool apply_plan_runs(const struct apply *apply, enum family f) RUNS_ON(role_main);
bool apply_plans_over(const struct apply *apply) RUNS_ON(role_main);
unsigned apply_plan_generation_next(struct apply *apply) RUNS_ON(role_main);
/*
 * Adds a part to the plan: the routes of the peer and family have to be evaluated again. The caller
 * informs the threads.
 */
/* `supplies`: see shard_plan_begin(). */
void apply_plan_part(struct apply *apply, struct peer_id id, enum family f, bool supplies)
	RUNS_ON(role_main);
/* Names the job that evaluates the routes; reports the end of a job; ends a part. */
void apply_plan_asked(struct apply *apply, struct peer_id id, enum family f, uint32_t job)
	RUNS_ON(role_main);
void apply_plan_job_ended(struct apply *apply, struct peer_id id, enum family f, uint32_t job)
	RUNS_ON(role_main);
void apply_plan_end(struct apply *apply, struct peer_id id, enum family f) RUNS_ON(role_main);
/*
 * The commit has started all jobs: commit_hold_s begins for the parts of the commit, and parts
 * without a job end.
 */
void apply_plan_go(struct apply *apply) RUNS_ON(role_main);

/* ---- apply_refresh.c ---- */

int apply_refreshes_create(struct apply *apply) RUNS_ON(role_main);
void apply_refreshes_destroy(struct apply *apply) RUNS_ON(role_main);
/* The reason why a policy change does not affect the session of the family, or NULL. */
const char *apply_not_in_use(const struct session_view *v, enum family f);
/*
 * Delays an import or export by policy_change_delay_s, unless already delayed. Returns the job.
 * `v`: the session now.
 */
uint32_t apply_pending_import(struct apply *apply, struct peer_id id, enum family f,
	const struct session_view *v) RUNS_ON(role_main);
uint32_t apply_pending_export(struct apply *apply, struct peer_id id, enum family f)
	RUNS_ON(role_main);
bool apply_export_waits(const struct apply *apply, struct peer_id id, enum family f, uint32_t *job)
	RUNS_ON(role_main);
bool apply_import_waits(const struct apply *apply, struct peer_id id, enum family f)
	RUNS_ON(role_main);
/* Ends delayed imports and exports of a session that has `want` already, or that was reset. */
void apply_pending_done(struct apply *apply, struct peer_id id, const struct session_policies *want,
	bool reset) RUNS_ON(role_main);
/* Ends all jobs of a removed peer. */
void apply_pending_drop(struct apply *apply, struct peer_id id) RUNS_ON(role_main);
/*
 * After all peers of a commit: begins the delay, or runs delayed work at once where the delay is 0.
 */
void apply_pending_schedule(struct apply *apply) RUNS_ON(role_main);
/* A job for the changes that a session advertises after a change of the export policies. */
struct export_item {
	struct peer_id id;
	enum family family;
	uint32_t job; /* in: 0 begins a new job; out: 0 where nothing differs */
	bool runs;
};
void apply_export_jobs(struct apply *apply, struct export_item *items, unsigned count)
	RUNS_ON(role_main);
/* Evaluates kept routes again at once, before the shards drop the kept routes. Returns the job. */
uint32_t apply_replay(struct apply *apply, struct peer_id id, enum family f) RUNS_ON(role_main);
/* Sends a ROUTE-REFRESH to fill keep_all_routes. Returns the job; 0: the request was not sent. */
uint32_t apply_fill(struct apply *apply, struct peer_id id, enum family f,
	const struct session_view *v) RUNS_ON(role_main);
/*
 * True if the shards keep all routes of the peer: no fill of this session is running or has failed.
 */
bool apply_is_filled(const struct apply *apply, struct peer_id id, enum family f,
	const struct session_view *v) RUNS_ON(role_main);
/*
 * Notes that only a reset would apply a policy change to the routes of the peer; until the session
 * is established anew.
 */
void apply_note_not_applied(struct apply *apply, struct peer_id id, enum family f,
	const char *reason, const struct session_view *v) RUNS_ON(role_main);
/*
 * Takes over a replaced configuration. Threads may use the old policies until the delay and the
 * plan end.
 */
void apply_config_hold(struct apply *apply, struct config *old) RUNS_ON(role_main);
/* Frees replaced configurations if the delay and the plan have ended. */
void apply_config_release(struct apply *apply) RUNS_ON(role_main);

/* ---- apply_instances.c ---- */

int apply_instances_create(struct apply *apply) RUNS_ON(role_main);
/* At start: reads the labels of the state directory, and adds the instances. 0, -ENOMEM. */
int apply_instances_start(struct apply *apply) RUNS_ON(role_main);
void apply_instances_destroy(struct apply *apply, bool keep) RUNS_ON(role_main);
/*
 * Reserves tables in all shards for the new instances of `next`. False with a fault. After a fault,
 * or when the commit is refused later, apply_instances_switch() releases the tables.
 */
bool apply_instances_prepare(struct apply *apply, const struct config *next, struct faults *f)
	RUNS_ON(role_main);
/*
 * After a change of the running configuration: starts its instances, before peers and routes are
 * added, and begins the end of all removed instances.
 */
void apply_instances_switch(struct apply *apply) RUNS_ON(role_main);
/*
 * Adds an effect, without a peer, for each instance that `next` adds, changes or removes:
 * instance-added, instance-changed, instance-removed.
 */
void apply_instances_effects(const struct config *old, const struct config *next, json_t *effects)
	RUNS_ON(role_main);

/* ---- apply_dynamic.c ---- */

/* Sends the listen ranges to the session thread. */
void apply_ranges(struct apply *apply, const struct config *c) RUNS_ON(role_main);
void apply_dynamic_event(struct apply *apply, const struct session_event *e) RUNS_ON(role_main);
/*
 * Ends dynamic peers without a range in the running configuration. Writes the changes of the
 * remaining dynamic peers to `out` and returns their number.
 */
unsigned apply_dynamic_changes(struct apply *apply, const struct config *old, struct change *out,
	json_t *effects) RUNS_ON(role_main);
unsigned apply_dynamic_count(const struct apply *apply) RUNS_ON(role_main);
/*
 * The configuration of a present peer under `next`, of a dynamic peer in `dynamic`. NULL: `next`
 * has no such peer.
 */
const struct config_peer *apply_peer_of(
	const struct config *next, const struct config_peer *was, struct config_peer *dynamic);

/* ---- preview.c ---- */

int apply_previews_create(struct apply *apply) RUNS_ON(role_main);
void apply_previews_destroy(struct apply *apply) RUNS_ON(role_main);

/* ---- apply_history.c ---- */

/*
 * Before the first peer starts. After an unconfirmed commit the previous configuration replaces the
 * running configuration. 0, -ENOMEM.
 */
int apply_history_start(struct apply *apply) RUNS_ON(role_main);
/*
 * Writes the document and the policy files of `next` before the commit changes FILE; with `confirm_s` also that the commit has to be
 * confirmed. Errors are logged.
 */
void apply_history_prepare(struct apply *apply, const struct config *next, uint32_t confirm_s,
	void (*done)(void *ctx, int err), void *ctx) RUNS_ON(role_main);
/* Notes a commit whose configuration runs, in memory. Returns its id. */
uint32_t apply_history_commit(struct apply *apply, const char *comment,
	const struct apply_user *user, uint32_t confirm_s) RUNS_ON(role_main);
/* Writes the index when FILE has the commit, or cannot have it. Errors are logged. `left`: as in history_settle(). */
void apply_history_settle(struct apply *apply, uint32_t id, json_t *left, enum history_state state,
	void (*done)(void *ctx), void *ctx) RUNS_ON(role_main);
/* FILE has this document. */
void apply_in_file(struct apply *apply, json_t *document) RUNS_ON(role_main);
/* Answers the calls of apply_load() whose FILE was read; of apply->load_timer. */
void apply_loads_take(struct apply *apply) RUNS_ON(role_main);
void apply_loads_fire(struct timer *t) RUNS_ON(role_main);
/* The last commit in force has its files: a confirmation that waits for them is stored. */
void apply_history_saved(struct apply *apply) RUNS_ON(role_main);
/* True while a confirmation is being stored, or the running document is saved again. */
bool apply_history_busy(const struct apply *apply) RUNS_ON(role_main);
/*
 * A warning for each policy file whose text on disk is not that in force, and the files for the alarm. `files`: of
 * policy_files_compare(), lent.
 */
void apply_note_left(struct apply *apply, json_t *files) RUNS_ON(role_main);
/* The id of the next commit. */
uint32_t apply_history_next(const struct apply *apply) RUNS_ON(role_main);
bool apply_confirm_waits(const struct apply *apply) RUNS_ON(role_main);
void apply_history_destroy(struct apply *apply) RUNS_ON(role_main);
