/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page of metrics, made from answers of RPC methods: call http_metrics_request(), send the line, give
 * the answer to http_metrics_take(), and again until there is no request; then take the text. Main only.
 */
#pragma once

#include <stddef.h>

enum http_metrics_format {
	HTTP_METRICS_OPEN, /* OpenMetrics 1.0 */
	HTTP_METRICS_TEXT /* text format 0.0.4 */
};
struct http_metrics;

/* NULL: out of memory. */
struct http_metrics *http_metrics_create(enum http_metrics_format format);
void http_metrics_destroy(struct http_metrics *m);
/* The next line, with its newline, lent until the next call. NULL: all answers have come. */
const char *http_metrics_request(struct http_metrics *m);
/* The answer to the last request. 0, -EPROTO. */
int http_metrics_take(struct http_metrics *m, const char *text, size_t len);
/* The page, to be freed; NULL: out of memory. Once. */
char *http_metrics_text(struct http_metrics *m, size_t *len);
/* The format preferred by the header Accept; OpenMetrics when both formats are equal or `accept` is NULL. */
enum http_metrics_format http_metrics_format(const char *accept);
