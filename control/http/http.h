/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server of keel-http: GET / (page.html, which calls POST /rpc), POST /rpc with the methods of the
 * socket, GET /metrics, GET /healthz (200 unless a thread is stuck) and GET /readyz (200 while routes are
 * advertised). keeld gives the rights of a request (control/http/front.h): without a token it may read only.
 * Requests with a foreign Origin are refused, because pages in a browser must not call methods.
 *
 * libmicrohttpd runs in main's loop. Writer: main.
 */
#pragma once

#include "lpm/base/base.h"

struct http;
struct thread;

/* Serves the connections of `listener`, taken over, by streams through `front` to keeld. 0, -errno. */
int http_create(struct thread *t, int front, int listener, struct http **out) RUNS_ON(role_main);
/* Ends all connections. */
void http_destroy(struct http *h) RUNS_ON(role_main);
