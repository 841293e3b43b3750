/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0 over the Unix socket, one JSON value a line: requests, batches, notifications; the specification's error
 * codes, our own -32000 to -32099 with error.data (keel-rpc(7)). One table dispatches. Writer: main.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct apply;
struct audits;
struct config_host;
struct jobs;
struct layers;
struct memory_guard;
struct rpc;
struct thread;
struct watchdog;

/* What the methods read and change. All is lent for the life of the server. */
struct rpc_config {
	const char *socket; /* the path */
	const struct config_host *host; /* for config_parse() */
	const struct layers *layers;
	struct apply *apply;
	struct jobs *jobs;
	struct audits *audits;
	const struct memory_guard *guard;
	struct watchdog *watchdog; /* NULL: not started */
	const char *config_file;
	uint64_t started_ns; /* of the daemon */
};

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_NOT_FOUND = -32004,
	RPC_CONFIGURATION = -32005, /* faults in a document */
	RPC_NOT_KEPT = -32010,
	RPC_READ_ONLY = -32011,
	RPC_NO_DATAPLANE = -32012,
	RPC_TRY_AGAIN = -32013, /* nothing is wrong with the request */
};

#define RPC_REQUEST_MAX (64u << 20)
#define RPC_DEPTH_MAX 64

/*
 * Listens on `socket` (mode 0660; a stale one of a dead daemon is replaced, a live one is -EADDRINUSE), and on `socket`.ro (mode 0666), where
 * what changes something is refused. 0, -errno.
 */
int rpc_create(const struct rpc_config *c, struct rpc **out);
/* Serves, and starts the HTTP server of the running configuration (control/rpc/http.h). 0, -errno. */
int rpc_start(struct rpc *r, struct thread *main_thread);
/*
 * A notification `event` {topic, time, ...members} to whoever subscribed to `topic`: commit session refresh slow-peer fib alarm. `members` is
 * taken over (NULL: none). A subscriber that does not read loses events, never the daemon time or memory: bounded queue (256 KiB); when it
 * has read that, an event of topic `lost` says how many (`lost`), and it goes on.
 */
void rpc_event(struct rpc *r, const char *topic, json_t *members);
/* Closes and removes the socket. */
void rpc_destroy(struct rpc *r);
