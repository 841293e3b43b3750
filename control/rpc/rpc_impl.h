/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by rpc.c (socket, dispatch) and rpc_*.c (methods). Main only.
 */
#pragma once

#include "control/apply/apply.h"
#include "control/apply/candidate.h"
#include "control/apply/commit.h"
#include "control/apply/jobs.h"
#include "control/apply/peers.h"
#include "control/apply/selector.h"
#include "control/base/layers.h"
#include "control/rpc/rpc.h"
#include "lpm/hist.h"
#include "lpm/prefix.h"

struct rpc_call;
struct rpc_audit;
struct rpc_page;
struct rpc_peers_walk;

/* The histograms as they were when dataplane.stats.reset or control.stats.reset was called: what is shown has begun then. */
enum { RPC_MARK_THREADS = 32 /* main, fib, host, session, shards */, RPC_MARK_FIB = 5 };
struct rpc_marks {
	struct {
		struct hist slices, turns;
	} thread[RPC_MARK_THREADS];
	struct hist keepalive;
	struct hist fib[RPC_MARK_FIB];
};

/* What the methods work on: the objects of struct rpc_config, and the state of the methods themselves. */
struct rpc_env {
	const struct config_host *host;
	const struct layers *layers;
	struct apply *apply;
	const struct peers *peers;
	struct jobs *jobs;
	struct audits *audits;
	const struct memory_guard *guard;
	struct watchdog *watchdog; /* NULL: not started */
	const char *config_file;
	uint64_t started_ns;

	struct rpc_marks *marks;
	struct attr_set *attr_buf; /* ATTR_SET_MAX octets, for the method that runs */
	struct rpc_audit *audit_jobs; /* audits that run as jobs */
	struct rpc_page *page; /* of bgp.peers; NULL: not allocated yet */
	struct rpc_peers_walk *walks; /* through all peers, not ended yet */
	double alarm_since_s[8]; /* 0: the alarm is off */
	uint64_t alarm_checks; /* by the timer */
	json_t *peer_alarms_since; /* "KIND PEER FAMILY" -> when the alarm began; NULL: no look yet */
};

/* Returns the result, or NULL after rpc_fail(), or NULL after rpc_defer(): then rpc_reply() comes later. */
typedef json_t *rpc_function(struct rpc_env *env, json_t *params, struct rpc_call *call);

enum rpc_reads {
	RPC_CHANGES,
	RPC_READS,
	RPC_READS_UNLESS_FORCE /* with the parameter `force` it changes something */
};

/*
 * One named value: a parameter of a method, or a member of a result, of an event, or of an object in one. rpc_check.c checks parameters by
 * these tables; rpc.discover and keel-rpc(7) (scripts/reference) are made from them. A table ends with {0}.
 *
 * Types: string, integer, integer=MIN..MAX, number, boolean, object, any, family, address, prefix, or the allowed words (import|export).
 * "[]" after the type: an array of such values. "|null" at the end: the value may be null.
 */
struct rpc_field {
	const char *name; /* "?" at the end: may be absent. "*": an object with any names */
	const char *type;
	const char *text; /* for people: a phrase, further sentences; `code` in backquotes */
	const struct rpc_field *members; /* of an object, or of each object in an array */
};

/*
 * A method. Parameters that the table lacks, that have another type or that are missing are -32602 before the method is called. A result that is
 * no object has one field without a name.
 */
struct rpc_method {
	const char *name;
	rpc_function *fn;
	const struct rpc_field *params, *result; /* NULL: none */
	const char *summary; /* one line */
	const char *text; /* NULL, or what else a caller must know */
	uint8_t reads; /* enum rpc_reads; others are refused on the read-only socket (-32011) */
	uint16_t
		errors; /* RPC_ERROR() bits of the method's own errors; every method may answer -32602 and -32603 */
};
#define RPC_ERROR(code) (1u << (-32000 - (code)))

/* Members that several methods share; rpc_fields.c. */
extern const struct rpc_field rpc_histogram_fields[], rpc_route_fields[], rpc_job_fields[],
	rpc_effect_fields[], rpc_alarm_fields[];

/* End with .name NULL. */
extern const struct rpc_method rpc_config_methods[], rpc_bgp_methods[], rpc_preview_methods[],
	rpc_rib_methods[], rpc_fib_methods[], rpc_control_methods[], rpc_own_methods[];

/*
 * `path`: JSON Pointer into params. Always NULL, so that a method can return it. A further RPC_INVALID_PARAMS of the same call is added to the first one;
 * any other error replaces what was there.
 */
json_t *rpc_fail(struct rpc_call *call, int code, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* With all faults of a document. */
struct faults;
json_t *rpc_fail_faults(struct rpc_call *call, int code, const struct faults *f);
/* The answer comes later, on this thread, exactly once: a result (taken over) or, with NULL, what rpc_fail() set. */
json_t *rpc_defer(struct rpc_call *call);
void rpc_reply(struct rpc_call *call, json_t *result);
/* As rpc_defer(), and the client's next request waits for the answer: a client has one such call at a time. */
json_t *rpc_hold(struct rpc_call *call);
/* As rpc_reply() with a result that is JSON text already; lent. */
void rpc_reply_text(struct rpc_call *call, const char *result);

/* Parameters. False after rpc_fail(). An absent one leaves *out as it is. */
bool rpc_string(json_t *params, const char *name, const char **out, struct rpc_call *call);
bool rpc_integer(json_t *params, const char *name, json_int_t min, json_int_t max, json_int_t *out,
	struct rpc_call *call);
bool rpc_boolean(json_t *params, const char *name, bool *out, struct rpc_call *call);
bool rpc_family(json_t *params, enum family *out, struct rpc_call *call);
/* `vrf`: absent means default. */
bool rpc_vrf(struct rpc_env *env, json_t *params, struct vrf_id *out, struct rpc_call *call);
/* `peer`: an address of a configured peer, -32004 otherwise. NULL when absent. */
bool rpc_peer(struct rpc_env *env, json_t *params, struct vrf_id vrf,
	const struct config_peer **out, struct rpc_call *call);
/* `group`: the name of a configured group, -32004 otherwise. NULL when absent. */
bool rpc_group(struct rpc_env *env, json_t *params, const char **out, struct rpc_call *call);

/* Whom bgp.refresh is for; rpc_bgp.c. */
bool rpc_refresh_selector(struct rpc_env *env, json_t *params, struct apply_selector *s,
	bool *import, struct rpc_call *call);
/* What is deferred is answered by an error: the daemon stops. */
void rpc_preview_end(struct rpc_env *env);
void rpc_peers_end(struct rpc_env *env);
void rpc_audits_end(struct rpc_env *env);
/* rpc_bgp.c: an element of bgp.peers. */
struct session_view;
json_t *rpc_peer_json(struct rpc_env *env, struct peer_id id, const struct config_peer *p,
	const struct session_view *v);
/*
 * rpc_peers.c: the method; and all peers as the method answers them, some in each turn of main's loop: peer() for each, false to stop, then
 * end() once, also when the daemon stops. 0, -ENOMEM (end() is not called).
 */
rpc_function rpc_bgp_peers;
int rpc_peers_each(struct rpc_env *env, bool (*peer)(void *ctx, const json_t *peer),
	void (*end)(void *ctx, bool whole), void *ctx);
/* What a method answers that wants no parameters and defers nothing; NULL: an error. */
json_t *rpc_result(struct rpc_env *env, const char *method);
/* Of now, as system.info has them: [{time, kind, text}], `time` when it was first seen. */
json_t *rpc_alarms(struct rpc_env *env);
/* How far the longest search went beyond the first entry, since start, by kind of hash table. */
json_t *rpc_hash_probes(const struct rpc_env *env);
json_t *rpc_addr(const struct ip_addr *a);
/* Attributes into a route's object; what is absent has no key. And from one, `out` with room for ATTR_SET_MAX: false after rpc_fail(). */
struct attr_set;
void rpc_attrs(json_t *route, const struct attr_set *a);
bool rpc_attrs_read(json_t *route, struct attr_set *out, struct rpc_call *call);
json_t *rpc_prefix(const struct prefix *p);
json_t *rpc_hist(const struct hist_summary *h);
json_t *rpc_hist_since(const struct hist *h, const struct hist *mark);
/* Their histograms start anew. */
void rpc_control_mark(struct rpc_env *env);
void rpc_fib_mark(struct rpc_env *env);
/* Brings `done` and `total` of running audits up to date, before jobs are shown. */
void rpc_fib_progress(struct rpc_env *env);
const char *rpc_vrf_name(struct vrf_id vrf);
double rpc_wall_s(void);
