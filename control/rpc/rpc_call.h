/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What asks and is answered: shared by rpc.c (requests, batches, dispatch), rpc_socket.c (connections of the Unix sockets), rpc_events.c
 * (subscriptions) and http.c (POST /rpc). Main only.
 */
#pragma once

#include "control/rpc/rpc_impl.h"
#include "control/base/threads.h"

#include <stddef.h>
#include <sys/un.h>

struct batch;
struct rpc_client;
struct subscription;

/* What a client may take of memory. Of the read-only socket anybody is one: together they must not take the daemon's. */
/*
 * Of requests that may only read, from the socket or without a token. Main parses a request at once, and 256 KiB take some 15 ms. An object
 * whose keys collide costs the square of its members, so they are few: no method takes an object of more than some 20.
 */
#define RPC_READ_ONLY_REQUEST_MAX (256u << 10)
#define RPC_READ_ONLY_MEMBERS_MAX 256u

struct rpc_bounds {
	size_t request; /* a line */
	unsigned members; /* of one object in a request; 0: no bound */
	size_t answer; /* to one line, beyond which the client is cut off */
	unsigned connections;
	const char *too_long;
};

struct rpc_client_ops {
	/* One line's answer, without a newline. */
	void (*send)(struct rpc_client *c, const char *text, size_t len);
	/* It can't be answered any more (memory): end it. */
	void (*cut)(struct rpc_client *c);
	/* Between two requests of a batch. True: others are to be served; rpc_batch_run() goes on later. */
	bool (*turn_over)(struct rpc_client *c);
	/* A deferred answer was given; may free the client. */
	void (*settle)(struct rpc_client *c);
	/* Events wait (subscription_take()); may free the client. NULL: this client can't have any. */
	void (*events)(struct rpc_client *c);
};

struct rpc_client {
	const struct rpc_client_ops *ops;
	struct rpc *rpc;
	struct rpc_client *next_subscriber;
	struct subscription *subscription; /* NULL: none */
	struct batch *running; /* not yet gone through to its end */
	unsigned pending; /* lines that are not answered in full */
	unsigned
		held; /* calls of rpc_hold(): no further request is taken up before they are answered */
	const struct rpc_bounds *bounds;
	bool read_only;
	bool closed; /* nobody reads answers any more; it stays until nothing is pending */
};

struct connection;

/* One of the two sockets. */
struct rpc_listener {
	struct watch watch;
	struct timer again; /* accepts once more when there may be descriptors */
	struct rpc *rpc;
	bool read_only;
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
	struct timer watch; /* for the events that nobody posts: fib, alarm */
	bool watched; /* somebody wants to hear of alarms or generations */
	uint64_t fib_generation;
	json_t *alarms; /* kinds that were told */
	uint64_t
		late_seen; /* late turns (control/base/watchdog.h) up to this number have been seen */
	uint64_t late_open; /* bit N % 64: the end of late turn N is to come */
	struct http *http; /* NULL: off, or it can't listen yet */
	struct timer http_timer; /* tries again */
};

/* rpc.c */
/* One JSON value. False: it was so wrong that nothing further is to be read (an answer says why). */
bool rpc_line(struct rpc_client *c, const char *line, size_t len);
/* As an answer without id. */
void rpc_line_refused(struct rpc_client *c, const char *reason);
/* A part of a batch at least. Its requests are done in their order, and the client's next line waits. */
void rpc_batch_run(struct batch *b);
/* A field's type, taken apart. */
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
/* The errors of the protocol and our own; the end has .message NULL. */
struct rpc_error_text {
	int code;
	const char *message; /* of error.message */
	const char *text; /* when it is answered, and what to do */
};
extern const struct rpc_error_text rpc_errors[];
/* The topics of events.subscribe; the end has .topic NULL. */
struct rpc_topic {
	const char *topic;
	const char *text;
	const struct rpc_field *members; /* beside `topic` and `time` */
};
extern const struct rpc_topic rpc_topics[];
/* rpc_check.c: false after rpc_fail_faults() with every fault that the method's table knows of. */
bool rpc_params_check(const struct rpc_method *m, json_t *params, struct rpc_call *call);
struct rpc_client *rpc_call_client(const struct rpc_call *call);
/* The next method of all tables, in their order: begin with NULL; NULL behind the last. */
const struct rpc_method *rpc_method_next(const struct rpc_method *m);

/* rpc_http.c */
void rpc_http_start(struct rpc *r);
void rpc_http_end(struct rpc *r);

/* rpc_events.c */
/* What waits for this subscriber: lines, without the last newline. It is forgotten here. NULL: nothing. To be freed. */
char *subscription_take(struct rpc_client *c, size_t *len);
void subscription_end(struct rpc_client *c);
int rpc_events_start(struct rpc *r);
void rpc_events_stop(struct rpc *r);
