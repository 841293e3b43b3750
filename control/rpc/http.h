/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `management.http`: GET / (page.html, which calls POST /rpc), POST /rpc with the methods of the socket, GET /metrics, GET /healthz (200 unless a thread is stuck) and GET /readyz (200 while
 * routes are advertised). Requests without the bearer token of `http_token_file` may call
 * only methods for reading. Requests with a foreign Origin are refused, because pages in a browser must not call methods.
 *
 * libmicrohttpd runs in main's loop. Writer: main.
 */
#pragma once

#include "lpm/base/prefix.h"

struct http;
struct rpc;

struct http_config {
	struct ip_addr addr;
	uint16_t port;
	/* NULL: none. Copied; the file is read with each request that has a token */
	const char *token_file;
};

/* Listens. 0, -errno. */
int http_create(struct rpc *r, const struct http_config *c, struct http **out) RUNS_ON(role_main);
/* Ends all connections. A request with a deferred answer is freed when the answer comes. */
void http_destroy(struct http *h) RUNS_ON(role_main);

/*
 * http_metrics.c: the page of metrics. Some peers are written in each turn of main's loop; then done() is called once with the text, to be freed, or
 * NULL. 0, -ENOMEM (done() is not called).
 */
enum http_metrics_format {
	HTTP_METRICS_OPEN, /* OpenMetrics 1.0 */
	HTTP_METRICS_TEXT /* text format 0.0.4 */
};
struct rpc_env;
typedef void http_metrics_done(void *ctx, char *text, size_t len);
int http_metrics(struct rpc_env *env, enum http_metrics_format format, http_metrics_done *done,
	void *ctx) RUNS_ON(role_main);
/* The format preferred by the header Accept; OpenMetrics when both formats are equal or `accept` is NULL. */
enum http_metrics_format http_metrics_format(const char *accept);
