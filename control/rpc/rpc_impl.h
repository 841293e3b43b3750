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
#include "control/host/netlink.h"
#include "control/rpc/rpc.h"
#include "lpm/base/hist.h"
#include "lpm/base/prefix.h"

struct rpc_call;
struct rpc_audit;
struct rpc_page;
struct rpc_peers_walk;
struct rpc_client;
struct rpc_traces;
struct rpc_mrt;

/* Copies of the histograms at the last dataplane.stats.reset or control.stats.reset. Methods answer the difference to these copies. */
enum { RPC_MARK_THREADS = 32 /* main, fib, host, session, shards */, RPC_MARK_FIB = 5 };
struct rpc_marks {
	struct {
		struct hist slices, turns;
	} thread[RPC_MARK_THREADS];
	struct hist keepalive;
	struct hist fib[RPC_MARK_FIB];
};

/* The objects that the methods read and change (struct rpc_config), and the state of the methods. */
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
	struct attr_set *attr_buf; /* ATTR_SET_MAX octets, for the running method */
	struct rpc_audit *audit_jobs; /* audits that run as jobs */
	struct rpc_page *page; /* of bgp.peers; NULL: not allocated yet */
	struct rpc_peers_walk *walks; /* through all peers, not ended yet */
	double alarm_since_s[21]; /* 0: the alarm is off */
	uint64_t alarm_checks; /* by the timer */
	struct rpc_traces *traces; /* NULL: no trace runs */
	uint32_t last_trace; /* number */
	struct rpc_mrt *mrt; /* NULL: no dump runs */
	uint64_t calls_answered, calls_refused;
	/* "KIND PEER FAMILY", "port NAME" -> when the alarm began; NULL: no look yet */
	json_t *alarms_since;
};

/* Returns the result; NULL after rpc_fail(); NULL after rpc_defer(), and rpc_reply() follows. */
typedef json_t *rpc_function(struct rpc_env *env, json_t *params, struct rpc_call *call);

enum rpc_reads {
	RPC_CHANGES,
	RPC_READS,
	RPC_READS_UNLESS_FORCE, /* RPC_CHANGES when the parameter `force` is true */
	RPC_READS_FOR_CHANGERS /* the read-only socket refuses the method; not in the audit trail */
};

/*
 * One named value: a parameter of a method, or a member of a result, of an event, or of a nested object. rpc_check.c checks parameters by
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
	struct {
		size_t at, size; /* in object number `of`; size 0: no such member */
		unsigned of;
	} from;
	const char *metric; /* GAUGE(), COUNTER() or SUMMARY(): its name at /metrics */
};
/*
 * A row that is also a metric of keel-http; scripts/reference makes control/http/http_metrics.def of them. NAME without the _total of a counter. The
 * text of the row is the help, unless a second argument has another help.
 */
#define GAUGE(name, ...) .metric = (name)
#define COUNTER(name, ...) .metric = (name)
#define SUMMARY(name, ...) .metric = (name)
/* The begin of a row of type integer or boolean, before its text: {RPC_NUMBER("name", 0, struct s, member) "Text."}. */
#define RPC_ROW(word, kind, number, s, member)                                                     \
	.name = word, .type = kind,                                                                \
	.from = {offsetof(s, member),                                                              \
		/* refuses texts and structs */ 0 * sizeof(+((s *)0)->member) +                    \
			sizeof(((s *)0)->member),                                                  \
		number},                                                                           \
	.text =
#define RPC_NUMBER(word, number, s, member) RPC_ROW(word, "integer", number, s, member)
#define RPC_FLAG(word, number, s, member) RPC_ROW(word, "boolean", number, s, member)
/* Of an object with `members`: their object number `number` is a member of that object. */
#define RPC_PART(number, s, member)                                                                \
	{                                                                                          \
		offsetof(s, member), 1, number                                                     \
	}
/*
 * An object in the order of the table: members of objects[], and of `made` (taken; may be NULL). A member of an object whose name
 * ends in "?" is left out when zero or false.
 */
json_t *rpc_encode(const struct rpc_field *fields, const void *const objects[], json_t *made);

/*
 * A method. Unknown parameters, missing parameters and wrong types are answered with -32602 before `fn` is called. For a result other than
 * an object, the table has one field with an empty name.
 */
struct rpc_method {
	const char *name;
	rpc_function *fn;
	const struct rpc_field *params, *result; /* NULL: none */
	const char *summary; /* one line */
	const char *text; /* paragraph for callers, or NULL */
	uint8_t reads; /* enum rpc_reads; the read-only socket refuses RPC_CHANGES (-32011) */
	/* RPC_ERROR() bits of the method's own errors; every method may answer -32602 and -32603. */
	uint16_t errors;
};
#define RPC_ERROR(code) (1u << (-32000 - (code)))

/* Members that several methods share; rpc_fields.c. */
extern const struct rpc_field rpc_histogram_fields[], rpc_route_fields[], rpc_job_fields[],
	rpc_effect_fields[], rpc_alarm_fields[], rpc_refused_fields[];

/* End with .name NULL. */
extern const struct rpc_method rpc_config_methods[], rpc_bgp_methods[], rpc_preview_methods[],
	rpc_rib_methods[], rpc_fate_methods[], rpc_history_methods[], rpc_trace_methods[],
	rpc_mrt_methods[], rpc_fib_methods[], rpc_vrf_methods[], rpc_rpki_methods[],
	rpc_control_methods[], rpc_own_methods[];

/*
 * Sets the error of a call. `path`: JSON Pointer into params. Always NULL, for use in a return statement. A second RPC_INVALID_PARAMS is added
 * to the first; any other error replaces the error before.
 */
json_t *rpc_fail(struct rpc_call *call, int code, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Adds a member to the data of the error. Takes `value` over. Always NULL. */
json_t *rpc_fail_data(struct rpc_call *call, const char *key, json_t *value) RUNS_ON(role_main);
/* Sets an error with all faults of a document. */
struct faults;
json_t *rpc_fail_faults(struct rpc_call *call, int code, const struct faults *f) RUNS_ON(role_main);
/* Also with the names of the elements in their paths. */
json_t *rpc_fail_document(struct rpc_call *call, int code, const struct faults *f, json_t *document)
	RUNS_ON(role_main);
/* Defers the answer. rpc_reply() must follow exactly once, on this thread: with a result (taken over), or with NULL after rpc_fail(). */
json_t *rpc_defer(struct rpc_call *call) RUNS_ON(role_main);
void rpc_reply(struct rpc_call *call, json_t *result) RUNS_ON(role_main);
/* As rpc_defer(). The client's next request waits for the answer: at most one held call for each client. */
json_t *rpc_hold(struct rpc_call *call) RUNS_ON(role_main);
/* As rpc_reply() with a result in JSON text, which is lent. */
void rpc_reply_text(struct rpc_call *call, const char *result) RUNS_ON(role_main);

/* The user of a client; NULL: a client without a candidate. `buf` holds the result, for the call. */
const struct apply_user *rpc_user(const struct rpc_call *call, struct apply_user *buf)
	RUNS_ON(role_main);

/* Read one parameter. False after rpc_fail(). An absent parameter leaves *out unchanged. */
bool rpc_string(json_t *params, const char *name, const char **out, struct rpc_call *call)
	RUNS_ON(role_main);
bool rpc_integer(json_t *params, const char *name, json_int_t min, json_int_t max, json_int_t *out,
	struct rpc_call *call) RUNS_ON(role_main);
bool rpc_boolean(json_t *params, const char *name, bool *out, struct rpc_call *call)
	RUNS_ON(role_main);
bool rpc_family(json_t *params, enum family *out, struct rpc_call *call) RUNS_ON(role_main);
struct shard_instance_counts;
/* The destinations of an instance, and its counts of leaked routes, of all shards. */
uint64_t rpc_vrf_routes(const struct rpc_env *env, struct vrf_id vrf,
	struct shard_instance_counts *out) RUNS_ON(role_main);
/* Parameter `vrf`: an instance of the running configuration, else -32004. The default VRF when absent. */
bool rpc_vrf(struct rpc_env *env, json_t *params, struct vrf_id *out, struct rpc_call *call)
	RUNS_ON(role_main);
/* Parameter `peer`: the address of a configured peer, else -32004. *out is NULL when absent. */
bool rpc_peer(struct rpc_env *env, json_t *params, struct vrf_id vrf,
	const struct config_peer **out, struct rpc_call *call) RUNS_ON(role_main);
/* Parameter `group`: the name of a configured group, else -32004. *out is NULL when absent. */
bool rpc_group(struct rpc_env *env, json_t *params, const char **out, struct rpc_call *call)
	RUNS_ON(role_main);

/* rpc_config.c: parameter `policy_files`, for apply_policy_files(). False after rpc_fail(). */
bool rpc_take_files(json_t *params, int *take, struct rpc_call *call) RUNS_ON(role_main);
/* rpc_bgp.c: the parameters of bgp.refresh. False after rpc_fail(). */
bool rpc_refresh_selector(struct rpc_env *env, json_t *params, struct apply_selector *s,
	bool *import, struct rpc_call *call) RUNS_ON(role_main);
/* The daemon stops: answer the deferred calls with an error. */
void rpc_preview_end(struct rpc_env *env) RUNS_ON(role_main);
void rpc_peers_end(struct rpc_env *env) RUNS_ON(role_main);
void rpc_audits_end(struct rpc_env *env) RUNS_ON(role_main);
void rpc_traces_end(struct rpc_env *env) RUNS_ON(role_main);
/* The client gets no events any more: its traces without a file end. */
void rpc_traces_leave(struct rpc_env *env, const struct rpc_client *c) RUNS_ON(role_main);
void rpc_mrt_end(struct rpc_env *env) RUNS_ON(role_main);
/* rpc_bgp.c: an element of bgp.peers; the rows of its members, such as `families`, are in the same file. */
struct session_view;
json_t *rpc_peer_json(struct rpc_env *env, struct peer_id id, const struct config_peer *p,
	const struct session_view *v) RUNS_ON(role_main);
/* rpc_peers.c: the method bgp.peers. */
rpc_function rpc_bgp_peers;
/* rpc_alarms.c: the method system.health. */
rpc_function rpc_system_health;
/* The presently raised alarms, as in system.info. */
json_t *rpc_alarms(struct rpc_env *env) RUNS_ON(role_main);
/* For each kind of hash table: entries that the longest search since the start passed. */
json_t *rpc_hash_probes(const struct rpc_env *env) RUNS_ON(role_main);
json_t *rpc_addr(const struct ip_addr *a);
/* The name, the state and the link of a port; only with a data plane. */
json_t *rpc_port(uint16_t port);
/* rpc_fib.c: addresses of ports that other machines have, too. With a data plane. */
#define RPC_DUPLICATES_MAX 64
struct rpc_duplicates {
	unsigned count;
	struct netlink_duplicate at[RPC_DUPLICATES_MAX];
};
void rpc_duplicates(struct rpc_env *env, struct rpc_duplicates *out) RUNS_ON(role_main);
/* The port of the running document, open or not, with the zone or a subnet of `addr` or `text`; NULL: absent. */
json_t *rpc_port_of(const struct rpc_env *env, struct vrf_id vrf, const struct ip_addr *addr,
	const char *text) RUNS_ON(role_main);
/* {KIND: number} of the alarms in `list`, all kinds. */
json_t *rpc_alarm_counts(const json_t *list);
/* Keys of the attributes of a route: index (RPC_ATTR_COUNT: unknown), and value (NULL: not in the set). */
#define RPC_ATTR_COUNT 15u
struct attr_set;
unsigned rpc_attr_find(const char *key);
json_t *rpc_attr(unsigned i, const struct attr_set *a);
/* Add the attributes to the JSON object of a route; read attributes from a route into `out` of ATTR_SET_MAX octets (false after rpc_fail()). */
void rpc_attrs(json_t *route, const struct attr_set *a);
bool rpc_attrs_read(json_t *route, struct attr_set *out, struct rpc_call *call) RUNS_ON(role_main);
/* Hexadecimal digits. */
json_t *rpc_octets(const uint8_t *octets, size_t len);
json_t *rpc_prefix(const struct prefix *p);
json_t *rpc_hist(const struct hist_summary *h);
json_t *rpc_hist_since(const struct hist *h, const struct hist *mark);
/* Restart the histograms of control.stats and of fib.stats. */
void rpc_control_mark(struct rpc_env *env) RUNS_ON(role_main);
void rpc_fib_mark(struct rpc_env *env) RUNS_ON(role_main);
/* Updates `done` and `total` of the jobs of running audits. */
void rpc_fib_progress(struct rpc_env *env) RUNS_ON(role_main);
/* rpc_audit.c: the method audit.list. */
#define RPC_AUDIT_LIMIT_MAX 1000
rpc_function rpc_audit_list RUNS_ON(role_main);
