/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients and their requests. Shared by rpc.c (requests, batches, dispatch), rpc_socket.c (connections to the Unix sockets, and of keel-http),
 * rpc_events.c (subscriptions) and rpc_http.c (keel-http). Main only.
 */
#pragma once

#include "control/rpc/rpc_impl.h"
#include "control/base/threads.h"

#include <stddef.h>
#include <sys/un.h>

struct batch;
struct rpc_client;
struct subscription;

/*
 * Limits of requests from the read-only socket and over HTTP without a token, open to any local user. Main parses a request in one turn: 256 KiB
 * take 15 ms. Parsing an object with colliding keys takes time quadratic in its members; no method needs more than 20 members.
 */
#define RPC_READ_ONLY_REQUEST_MAX (256u << 10)
#define RPC_READ_ONLY_MEMBERS_MAX 256u

/* Memory that a client may take. */
struct rpc_bounds {
	size_t request; /* octets of one line */
	unsigned members; /* of one object in a request; 0: no limit */
	size_t answer; /* octets; a longer answer ends the connection */
	unsigned connections;
	const char *too_long;
};

struct rpc_client_ops {
	/* Sends the answer to one line; `text` has no newline. */
	void (*send)(struct rpc_client *c, const char *text, size_t len);
	/* Ends the connection: out of memory for the answer. */
	void (*cut)(struct rpc_client *c);
	/* Called between two requests of a batch. True: the turn is over, and rpc_batch_run() will be called again. */
	bool (*turn_over)(struct rpc_client *c);
	/* Calls rpc_batch_run() in the client's next turn. False: out of memory, or the connection is gone. */
	bool (*later)(struct rpc_client *c);
	/* A deferred answer was sent; may free the client. */
	void (*settle)(struct rpc_client *c);
	/* Events are queued (subscription_take()); may free the client. NULL: the client cannot subscribe. */
	void (*events)(struct rpc_client *c);
};

/* Who a client is: rpc_user.c. */
struct rpc_user {
	char key[80]; /* "uid 1000", "token ci"; "": unknown */
	char name[72]; /* for people; of a uid "" until rpc_user_name() */
	char from[96]; /* "socket pid 4711", "http 192.0.2.9" */
};
/* The client of a Unix socket. */
struct ucred;
void rpc_user_of_socket(struct rpc_user *u, const struct ucred *cred) RUNS_ON(role_main);
/* The client with a bearer token of the file (NULL: none). False: no such token. */
bool rpc_user_of_token(struct rpc_user *u, const char *file, const char *token) RUNS_ON(role_main);
/* Looks up the name of a uid in /etc/passwd. */
void rpc_user_name(struct rpc_user *u) RUNS_ON(role_main);

/*
 * rpc_audit.c: the line of the audit trail for a call that changes something; _end() writes and frees
 * the line, with the error or the result (NULL: not kept as JSON).
 */
json_t *rpc_audit_begin(struct rpc_user *user, const char *method, const json_t *params)
	RUNS_ON(role_main);
void rpc_audit_end(struct rpc_env *env, json_t *line, const json_t *result, const json_t *error)
	RUNS_ON(role_main);

struct rpc_client {
	const struct rpc_client_ops *ops;
	struct rpc *rpc;
	struct rpc_client *next_subscriber;
	struct subscription *subscription; /* NULL: none */
	struct batch *running; /* the batch with requests that are not dispatched yet */
	unsigned pending; /* lines without a complete answer */
	unsigned held; /* unanswered calls of rpc_hold(); the next request waits for the answers */
	const struct rpc_bounds *bounds;
	struct rpc_user user;
	bool read_only;
	bool uncounted; /* calls of keel-http itself */
	bool closed; /* the connection is gone; the client is freed when nothing is pending */
};

struct connection;

/* One of the two sockets, or keel-http. */
struct rpc_listener {
	struct watch watch;
	struct timer again; /* retries accept() after it ran out of descriptors */
	struct rpc *rpc;
	bool read_only;
	bool front; /* keel-http */
	unsigned connection_count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

enum { RPC_LISTENERS = 2 };

struct rpc {
	struct rpc_env env;
	struct thread *thread;
	struct rpc_listener listener[RPC_LISTENERS]; /* all, read-only */
	struct connection *connections;
	struct rpc_client *subscribers;
	struct timer watch; /* polls for the events `fib` and `alarm` */
	bool watched; /* a client subscribed to `fib` or `alarm` */
	uint64_t fib_generation;
	json_t *alarms; /* kinds for which an event was sent */
	/* Number of the last late turn for which an event was sent (control/base/watchdog.h). */
	uint64_t late_seen;
	uint64_t late_open; /* bit N % 64: late turn N has not ended */
	struct rpc_http *http; /* NULL: off */
};

/* rpc.c */
/* Handles one JSON value. False: the value exceeded a limit, was answered, and the connection must end. */
bool rpc_line(struct rpc_client *c, const char *line, size_t len) RUNS_ON(role_main);
/* Answers a line that was not parsed with -32600. */
void rpc_line_refused(struct rpc_client *c, const char *reason) RUNS_ON(role_main);
/* Dispatches requests of a batch in order, at least one request. The client's next line waits until the batch is done. */
void rpc_batch_run(struct batch *b) RUNS_ON(role_main);
/* The parts of a field's type. */
enum rpc_kind {
	RPC_STRING,
	RPC_INTEGER,
	RPC_NUMBER,
	RPC_BOOLEAN,
	RPC_OBJECT,
	RPC_ANY,
	RPC_FAMILY,
	RPC_ADDRESS,
	RPC_PREFIX,
	RPC_WORDS
};
struct rpc_type {
	enum rpc_kind kind;
	bool array, null, range;
	json_int_t min, max; /* with `range` */
	const char *words; /* "a|b|c", `len` octets */
	size_t len;
};
struct rpc_type rpc_type_of(const struct rpc_field *f);
/* The field's name without its mark; returns `buf`. */
#define RPC_NAME_MAX 64
char *rpc_field_name(const struct rpc_field *f, char buf[RPC_NAME_MAX]);
bool rpc_field_optional(const struct rpc_field *f);
/* The errors of JSON-RPC and of keeld; the end has .message NULL. */
struct rpc_error_text {
	int code;
	const char *message; /* of error.message */
	const char *text; /* cause and remedy */
};
extern const struct rpc_error_text rpc_errors[];
/* The topics of events.subscribe; the end has .topic NULL. */
struct rpc_topic {
	const char *topic;
	const char *text;
	const struct rpc_field *members; /* beside `topic` and `time` */
};
extern const struct rpc_topic rpc_topics[];
/* rpc_check.c: checks the parameters by the method's table. False after rpc_fail_faults() with all faults. */
bool rpc_params_check(const struct rpc_method *m, json_t *params, struct rpc_call *call)
	RUNS_ON(role_main);
struct rpc_client *rpc_call_client(const struct rpc_call *call) RUNS_ON(role_main);
/* The next method of all tables, in order: begin with NULL; NULL after the last method. */
const struct rpc_method *rpc_method_next(const struct rpc_method *m);

/* rpc_socket.c: serves a stream of keel-http (control/http/front.h); `user` NULL: without a token. Closes `fd`. */
void rpc_front_connection(struct rpc_listener *l, int fd, const struct rpc_user *user, bool own)
	RUNS_ON(role_main);

/* rpc_http.c: keel-http, if the document has `management.http`. */
void rpc_http_start(struct rpc *r) RUNS_ON(role_main);
void rpc_http_end(struct rpc *r) RUNS_ON(role_main);

/* rpc_events.c */
/* Takes the queued events of a subscriber: lines, without the last newline. The caller frees the text. NULL: no events. */
char *subscription_take(struct rpc_client *c, size_t *len) RUNS_ON(role_main);
void subscription_end(struct rpc_client *c) RUNS_ON(role_main);
/* True if the client gets the events of traces. */
bool subscription_has_trace(const struct rpc_client *c) RUNS_ON(role_main);
int rpc_events_start(struct rpc *r) RUNS_ON(role_main);
void rpc_events_stop(struct rpc *r) RUNS_ON(role_main);
