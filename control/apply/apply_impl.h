/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by apply.c (peers, commit), apply_effects.c (what a commit does to its peers), apply_plan.c (which of them still have routes to be judged),
 * apply_refresh.c (refreshes by command and by policy change),
 * apply_dynamic.c (peers of listen ranges), apply_history.c (confirm, rollback) and apply_orders.c (calls of other threads). Main only.
 */
#pragma once

#include "control/apply/apply.h"
#include "control/apply/commit.h"
#include "control/apply/jobs.h"
#include "control/apply/peers_impl.h"
#include "control/apply/selector.h"
#include "control/base/layers.h"
#include "control/base/threads.h"
#include "control/session/session.h"

/*
 * Orders: main calls one function of another thread's layer and waits for its result (apply_orders.c). An order is on main's stack meanwhile. The kind
 * names the function and the part of the union.
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
/* For each shard in turn. The result: of the last shard; of ADD and REMOVE, the first error, and -EBUSY where one shard is busy. */
int shard_order(const struct layers *l, struct shard_order *o);

enum session_order_kind {
	SESSION_ORDER_LISTEN,
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
	SESSION_ORDER_PLAN_END,
};
struct session_order {
	enum session_order_kind kind;
	struct speaker *speaker; /* session_order() sets it */
	struct peer_id id;
	enum family family;
	union {
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
			const struct session_policies
				*policies; /* EXPORT: policies to be taken with it; NULL: none */
			const char *reason; /* of the result */
		} refresh;
	};
	int result; /* of the function: 0 or -errno, a bool, or enum refresh_action */
};
int session_order(const struct layers *l, struct session_order *o);

void fib_order_via_default(const struct layers *l, bool yes);

/* Which policies a peer's session and the shard run. */
struct applied {
	const struct policy *import[FAMILY_COUNT];
	bool keep[FAMILY_COUNT];
	struct session_policies session;
};

/* One peer in two configurations. */
struct change {
	const struct config *old, *next;
	const struct config_peer *was, *is;
	struct peer_id id;
	struct session_view view; /* before the change */
};

struct apply_history;
struct apply_plan;
struct apply_refreshes;
struct commit;
struct previews;

struct apply {
	const struct config_host *host;
	const struct layers *layers;
	struct jobs *jobs;
	struct host_routes *host_routes;
	const char *config_file, *state_dir;
	void (*report)(void *ctx, const char *topic, json_t *members);
	void *report_ctx;

	struct config *running;
	uint32_t revision; /* of the running document */
	json_t *candidate; /* equal to the running document when it holds no edits */
	bool candidate_edited;
	uint32_t candidate_revision;
	uint32_t last_commit_id;

	struct peers *peers;
	struct applied applied[PEER_MAX]; /* index: peer id */
	struct timer flush_timer;
	struct commit *under_way; /* NULL: no commit is */
	struct timer commit_timer;
	struct apply_plan *plan;
	struct apply_refreshes *refreshes;
	struct apply_history *history;
	struct previews *previews;
};

/* An event for subscribers. `members` is taken over. */
void apply_report(struct apply *apply, const char *topic, json_t *members);
/* `next`, which is taken over, is the running configuration from here on. The caller owns the one before. */
void apply_run(struct apply *apply, struct config *next);

/* ---- apply.c ---- */

/* Shard and session get to know it. 0, -errno (logged). */
int apply_peer_start(struct apply *apply, const struct config *c, const struct config_peer *p,
	struct peer_id id);
void apply_peer_stop(struct apply *apply, struct peer_id id);
struct shard_peer apply_shard_peer(struct peer_id id, const struct config_peer *c);
struct session_policies apply_policies_of(const struct config *c, const struct config_peer *p);
/* Policies that the session has from here on; `want` is copied. */
void apply_export_policies(
	struct apply *apply, struct peer_id id, const struct session_policies *want);
void apply_peek(const struct apply *apply, struct peer_id id, struct session_view *out);
/* What a commit would be refused for though the document is good: what is only read at start. */
void apply_restart_keys(const struct config *old, const struct config *next, struct faults *f);
int apply_commit(struct apply *apply, json_t *document, const char *comment, uint32_t confirm_s,
	json_t **effects, bool *persisted, struct faults *f);

/* ---- apply_effects.c ---- */

/* `effects` gets what the changes do, and they are done: one message to each thread for each step, whatever the number of peers. */
void apply_peers_change(
	struct apply *apply, const struct change *given, unsigned count, json_t *effects);
void apply_effect_removed(json_t *effects, const struct config_peer *p);

/* ---- apply_plan.c ---- */

int apply_plan_create(struct apply *apply);
void apply_plan_destroy(struct apply *apply);
/* The plan of that family runs: some peer's routes are not judged by the new rules, or paths are held. */
bool apply_plan_runs(const struct apply *apply, enum family f);
bool apply_plans_over(const struct apply *apply);
unsigned apply_plan_generation_next(struct apply *apply);
/* This peer's routes of that family are to be judged anew; the caller tells the threads. */
void apply_plan_part(struct apply *apply, struct peer_id id, enum family f);
/* The job that does it, or that ended; that there is no more to wait for. */
void apply_plan_asked(struct apply *apply, struct peer_id id, enum family f, uint32_t job);
void apply_plan_job_ended(struct apply *apply, struct peer_id id, enum family f, uint32_t job);
void apply_plan_end(struct apply *apply, struct peer_id id, enum family f);
/* All that a commit asks for is asked for: from here on commit_hold_s counts for its parts. Those without a job end. */
void apply_plan_go(struct apply *apply);

/* ---- apply_refresh.c ---- */

int apply_refreshes_create(struct apply *apply);
void apply_refreshes_destroy(struct apply *apply);
/* Why a policy change has nothing to do for that family, or NULL. */
const char *apply_not_in_use(const struct session_view *v, enum family f);
/* The job of an import or export that waits for the delay from here on, or waits already. `v`: of the session now. */
uint32_t apply_pending_import(
	struct apply *apply, struct peer_id id, enum family f, const struct session_view *v);
uint32_t apply_pending_export(struct apply *apply, struct peer_id id, enum family f);
bool apply_export_waits(const struct apply *apply, struct peer_id id, enum family f, uint32_t *job);
bool apply_import_waits(const struct apply *apply, struct peer_id id, enum family f);
/* Of a session that has `want` with the whole configuration, or that begins anew: what waits no more. */
void apply_pending_done(
	struct apply *apply, struct peer_id id, const struct session_policies *want, bool reset);
/* Of a peer that goes. */
void apply_pending_drop(struct apply *apply, struct peer_id id);
/* After all peers of a commit: the delay begins, or all is done now. */
void apply_pending_schedule(struct apply *apply);
/* A job for differences that a session makes of what it was given last. */
struct export_item {
	struct peer_id id;
	enum family family;
	uint32_t job; /* 0: a new one; then the job, 0: there are no differences to make */
	bool runs;
};
void apply_export_jobs(struct apply *apply, struct export_item *items, unsigned count);
/* ROUTE-REFRESH for what keep_all_routes is to keep; its job, 0 when it could not be asked for. */
/* What is kept is judged anew at once, without the delay: it is about to be let go. The job. */
uint32_t apply_replay(struct apply *apply, struct peer_id id, enum family f);
uint32_t apply_fill(
	struct apply *apply, struct peer_id id, enum family f, const struct session_view *v);
/* Is all kept that the peer has announced? Not while a fill has not ended well, in the same session. */
bool apply_is_filled(
	const struct apply *apply, struct peer_id id, enum family f, const struct session_view *v);
/* That a policy change reaches the peer's routes by no means but a reset; until the session is established anew. */
void apply_note_not_applied(struct apply *apply, struct peer_id id, enum family f,
	const char *reason, const struct session_view *v);
/* Its policies may be run until the delay and the plan are over; taken over. */
void apply_config_hold(struct apply *apply, struct config *old);
/* The plan is over. */
void apply_config_release(struct apply *apply);

/* ---- apply_dynamic.c ---- */

/* Who may come, told to the session thread. */
void apply_ranges(struct apply *apply, const struct config *c);
void apply_dynamic_event(struct apply *apply, const struct session_event *e);
/* Dynamic peers that the new configuration, which runs already, has no range for end; the changes of the others. How many. */
unsigned apply_dynamic_changes(
	struct apply *apply, const struct config *old, struct change *out, json_t *effects);
unsigned apply_dynamic_count(const struct apply *apply);
/* What `next` says of a peer of now; of a dynamic one in `dynamic`. NULL: nothing. */
const struct config_peer *apply_peer_of(
	const struct config *next, const struct config_peer *was, struct config_peer *dynamic);

/* ---- preview.c ---- */

int apply_previews_create(struct apply *apply);
void apply_previews_destroy(struct apply *apply);

/* ---- apply_history.c ---- */

/* Before the first peer: may replace the running configuration, by what an unconfirmed commit goes back to. 0, -ENOMEM. */
int apply_history_start(struct apply *apply);
/* On disk before anything is changed: the document and, with `confirm_s`, that it has to be confirmed. 0; -errno with faults. */
int apply_history_prepare(
	struct apply *apply, const json_t *document, uint32_t confirm_s, struct faults *f);
/* It is running and in FILE. */
void apply_history_commit(
	struct apply *apply, const char *comment, uint32_t confirm_s, bool persisted);
/* Writes the running document to FILE. False: not written, and logged. */
bool apply_save(struct apply *apply);
bool apply_confirm_waits(const struct apply *apply);
void apply_history_destroy(struct apply *apply);
