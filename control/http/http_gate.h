/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The listener of the HTTP server and the bounds of its connections: the number per address, and the total time of a request.
 * libmicrohttpd handles a connection after the gate has accepted the connection. With a listener of its own, libmicrohttpd 0.9.75 takes a
 * full daemon's listener out of epoll and adds the listener again only when another event makes the daemon run.
 *
 * A full gate closes, of the address with most connections, the connection with the longest wait for the client. An unfinished request or an
 * unread answer therefore never locks out further clients.
 *
 * Writer: main.
 */
#pragma once

#include "control/base/threads.h"
#include "lpm/base/prefix.h"

#include <sys/socket.h>

#define HTTP_CONNECTIONS_MAX 64u
/* Connections of one IPv4 address or one IPv6 /64. 127.0.0.0/8 counts as one address: local users may bind to each address in 127.0.0.0/8. */
#define HTTP_ADDRESS_CONNECTIONS_MAX 16u

enum http_phase {
	HTTP_FIRST, /* accepted; no request has come */
	HTTP_BODY, /* the headers of a later request have come */
	HTTP_WORK, /* the answer is being made: no deadline */
	HTTP_ANSWER, /* the client reads the answer */
	HTTP_KEPT, /* answered; the client may send another request */
};

struct http_gate;

/* Takes the listener `fd` over; adds each connection to the MHD daemon of http_gate_start(). 0; -ENOMEM: `fd` is the caller's. */
int http_gate_create(struct thread *t, int fd, struct http_gate **out) RUNS_ON(role_main);
/* Accepts from now on. `run` is armed when the daemon has to run. 0, -errno. */
struct MHD_Daemon;
int http_gate_start(struct http_gate *g, struct MHD_Daemon *mhd, struct timer *run)
	RUNS_ON(role_main);
/* Stops accepting. */
void http_gate_stop(struct http_gate *g) RUNS_ON(role_main);
/* Call after MHD_stop_daemon(), which closes all connections. */
void http_gate_destroy(struct http_gate *g) RUNS_ON(role_main);

/* The connection `fd` enters a phase; the deadline follows from it. `octets`: of the answer. */
void http_gate_phase(struct http_gate *g, int fd, enum http_phase phase, size_t octets)
	RUNS_ON(role_main);
/* The daemon is about to close `fd`. */
void http_gate_closed(struct http_gate *g, int fd) RUNS_ON(role_main);
