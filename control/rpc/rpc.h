/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0 over the Unix socket, one JSON value in a line: requests, batches, notifications. Errors have the codes of the
 * specification, or -32000 to -32099 with error.data (keel-rpc(7)). Tables of methods dispatch requests. Writer: main.
 */
#pragma once

#include "lpm/base/base.h"

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

/* The objects that methods read and change. Pointers are lent for the life of the server. */
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
	RPC_CONFLICT = -32006, /* another user has changed the same object */
	RPC_NEEDS_FORCE = -32007, /* the commit would end sessions */
	RPC_NOT_KEPT = -32010,
	RPC_READ_ONLY = -32011,
	RPC_NO_DATAPLANE = -32012,
	RPC_TRY_AGAIN = -32013, /* nothing is wrong with the request */
};

#define RPC_REQUEST_MAX (64u << 20)
#define RPC_DEPTH_MAX 64

/*
 * Listens on `socket` (mode 0660) and on `socket`.ro (mode 0666), where methods that change something are refused. Replaces the socket of a
 * dead daemon. 0; -EADDRINUSE: a daemon uses the socket; -errno.
 */
int rpc_create(const struct rpc_config *c, struct rpc **out) RUNS_ON(role_main);
/* Serves, and starts keel-http if the running configuration has `management.http`. 0, -errno. */
int rpc_start(struct rpc *r, struct thread *main_thread) RUNS_ON(role_main);
/*
 * Sends a notification `event` {topic, time, ...members} to the subscribers of `topic`: commit session refresh slow-peer fib alarm rpki. Takes
 * `members` over (NULL: none). A subscriber has a queue of 256 KiB. Events beyond the queue are lost; when the subscriber has read the
 * queue, an event of topic `lost` gives the number of lost events (`lost`).
 */
void rpc_event(struct rpc *r, const char *topic, json_t *members) RUNS_ON(role_main);
/* Closes and removes the socket. */
void rpc_destroy(struct rpc *r) RUNS_ON(role_main);
