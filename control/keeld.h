/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon as main holds it: running configuration, the layers, the threads. control/main.c makes it, control/apply/apply.c changes it
 * on commit, the RPC methods read it. Main only.
 */
#pragma once

#include "control/config/config.h"
#include "control/apply/jobs.h"
#include "control/base/threads.h"
#include "lpm/base.h"
#include "rib/dest.h"
#include "rib/shards.h"

struct arena;
struct fib;
struct fib_feed;
struct netlink;
struct nexthop_table;
struct qsbr;
struct rpc;
struct session_view;
struct speaker;
struct thread;
struct tun;
struct watchdog;

/* A configured peer and the ids under which the other threads know it. */
struct keeld_peer {
	struct peer_id id;
	const struct config_peer *
		config; /* of the running configuration, or of a dynamic peer; NULL unless `used` */
	bool used; /* configured now */
	bool removing; /* gone from the configuration; the shard still flushes its routes */
};

struct keeld {
	/* command line */
	const char *config_file, *state_dir, *socket;
	bool no_dataplane;
	bool huge;

	/* configuration */
	struct config *running;
	json_t *candidate; /* a document; equal to the running one when nothing was edited */
	bool candidate_edited;
	uint32_t revision; /* of the running document */
	uint32_t candidate_revision;
	uint32_t next_commit_id;

	/* layers */
	struct arena *arena_shard[SHARDS_MAX]; /* each one's own: they share no lock */
	struct arena *arena_rib, *arena_fib, *arena_session, *arena_control;
	struct qsbr *readers, *workers; /* RIB readers; workers and fib.lookup */
	unsigned main_reader, main_fib_reader; /* main's registrations, offline but during a call */
	struct shards shards; /* .count 0: none yet */
	struct journal *journal; /* theirs */
	struct nexthop_table *nexthops;
	struct fib *fib; /* NULL without a data plane */
	struct fib_feed *feed;
	struct speaker *speaker;
	struct netlink *netlink;
	struct tun *tun; /* keel0; NULL without a data plane */
	unsigned tun_ifindex; /* 0: none */
	struct jobs *jobs;
	struct rpc *rpc;
	struct watchdog *watchdog; /* NULL: not started */
	struct thread *main_thread, *host_thread, *session_thread, *rib_thread[SHARDS_MAX],
		*fib_thread;
	uint64_t started_ns;

	/* peers: index is peer id; running->peers[i] has id peer_of_config[i] */
	struct keeld_peer peers[PEER_MAX];
	struct peer_id *peer_of_config;
};

/* Runs fn(arg) on each shard's thread in turn, with *shard the one whose thread it is. */
static inline void
keeld_on_shards(struct keeld *k, void (*fn)(void *arg), void *arg, struct shard **shard)
{
	for (unsigned i = 0; i < k->shards.count; i++) {
		*shard = k->shards.at[i];
		thread_call(k->rib_thread[i], fn, arg);
	}
}

/* The id of a configured peer; .v == 0: none. */
struct peer_id keeld_peer_id(const struct keeld *k, const struct config_peer *c);
const struct config_peer *keeld_peer_config(const struct keeld *k, struct peer_id id);
/* All peers, configured ones in the document's order, then dynamic ones: begin with .v == 0; .v == 0 when there is none after it. */
struct peer_id keeld_peer_next(const struct keeld *k, struct peer_id after);
/* A configured or a dynamic one; NULL: none. */
const struct config_peer *keeld_peer_find(
	const struct keeld *k, struct vrf_id vrf, const struct ip_addr *addr);

/*
 * Replaces the running configuration by `document` (a reference is taken): all or nothing. On success 0 and *effects
 * (an array for the answer, contract section 3). -EINVAL with faults: nothing was changed.
 */
int keeld_commit(struct keeld *k, json_t *document, const char *comment, json_t **effects,
	bool *persisted, struct faults *f);
/* What came of a commit. `effects` and `faults` are lent. */
struct keeld_commit_result {
	int err; /* as keeld_commit() */
	json_t *effects;
	bool persisted;
	struct faults faults;
};
/*
 * The same in steps, each one a turn of main, so that other requests are answered meanwhile; done() is called at the end, also when the commit is
 * refused. With confirm_s: without keeld_confirm() within that time, or at a restart before it, what ran before comes back (-EIO: that can't be
 * kept on disk). A commit that is under way is finished first. 0; -ENOMEM: done() is not called.
 */
int keeld_commit_start(struct keeld *k, json_t *document, const char *comment, uint32_t confirm_s,
	void (*done)(void *ctx, struct keeld_commit_result *r), void *ctx);
/* Does the rest of a commit that is under way. To be called before anything that depends on what runs, or on the history. */
void keeld_commit_finish(struct keeld *k);
/* What a commit of a document that is good in itself would be refused for: keys that are only read at start. */
void keeld_check_restart_keys(const struct keeld *k, const struct config *next, struct faults *f);
/* -ENOENT: no commit waits for it. A commit without confirm_s confirms, too (RFC 6241 8.4.1). */
int keeld_confirm(struct keeld *k);
/* The commit that waits for a confirmation; 0: none. */
uint32_t keeld_commit_waiting(const struct keeld *k);
/*
 * A commit of the document that runs already: makes no entry in the history. FILE is written all the same. Without confirm_s it confirms a commit
 * that waits, with confirm_s it restarts the time of that one. True: FILE was written.
 */
bool keeld_commit_unchanged(struct keeld *k, uint32_t confirm_s);
/* Commits the document of that commit, at once; edits of the candidate stay edits. As keeld_commit(); -ENOENT: there is none. */
int keeld_rollback(
	struct keeld *k, uint32_t to, json_t **effects, bool *persisted, struct faults *f);
/* {commits: [{id, time, comment}], confirm: {commit, back_to, remaining_s}}, the oldest first; `confirm` while one waits. */
json_t *keeld_history(const struct keeld *k);
/* What a commit of `document` would do, as keeld_commit()'s effects but without jobs; nothing is changed. NULL with faults. */
json_t *keeld_effects(struct keeld *k, json_t *document, struct faults *f);
/* The import and export policy that a peer would run under `next` (a parsed document): what a preview compares with. NULL: none. */
const struct policy *keeld_policy_of(
	const struct config *next, const struct config_peer *p, enum family f, bool import);

/*
 * Why a committed import policy has not reached the routes of a peer: no means but a reset; until its session is established anew. NULL: it has.
 * `v`: the session now.
 */
const char *keeld_not_applied(
	const struct keeld *k, struct peer_id id, enum family f, const struct session_view *v);

/*
 * The commits that are still carried out: families of peers whose routes have not all been judged by the new import policy, and paths that stay in
 * use until then though it refuses them. `running`: some change of theirs may not be advertised yet.
 */
struct keeld_plan {
	bool running;
	unsigned unfinished;
	uint64_t held;
};
void keeld_plan(const struct keeld *k, struct keeld_plan *out);

/* contract: bgp.refresh. Answers `peers` and the job (0: nothing runs). */
enum keeld_scope { SCOPE_ALL, SCOPE_PEER, SCOPE_GROUP, SCOPE_INTERNAL, SCOPE_EXTERNAL, SCOPE_ASN };
struct keeld_selector {
	enum keeld_scope scope;
	enum family family;
	struct vrf_id vrf;
	struct ip_addr peer;
	const char *group;
	uint32_t asn;
};
/* Peers of the running configuration that match and have the family configured; how many (ids in `out`). */
unsigned keeld_select(
	const struct keeld *k, const struct keeld_selector *s, struct peer_id *out, unsigned max);
/* -ENOENT: nobody matches. */
int keeld_refresh(struct keeld *k, const struct keeld_selector *s, bool import, json_t **peers,
	uint32_t *job);
