/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmicrohttpd, loaded when a configuration has an HTTP server. The library brings nine further
 * libraries (GnuTLS and its own), which a daemon without an HTTP server does not need in memory.
 *
 * A loaded library stays loaded.
 */
#pragma once

#include "lpm/base/base.h"

#include <microhttpd.h>

#define HTTP_MHD_LIBRARY "libmicrohttpd.so.12"

/* The functions MHD_NAME that http.c and http_gate.c call. */
#define HTTP_MHD_FUNCTIONS(F)                                                                      \
	F(start_daemon)                                                                            \
	F(stop_daemon)                                                                             \
	F(get_daemon_info)                                                                         \
	F(get_timeout)                                                                             \
	F(run)                                                                                     \
	F(add_connection)                                                                          \
	F(get_connection_info)                                                                     \
	F(suspend_connection)                                                                      \
	F(resume_connection)                                                                       \
	F(lookup_connection_value)                                                                 \
	F(create_response_from_buffer)                                                             \
	F(add_response_header)                                                                     \
	F(queue_response)                                                                          \
	F(destroy_response)

struct http_mhd {
#define FUNCTION(name) __typeof__(&MHD_##name) name;
	HTTP_MHD_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* Loads the library and finds the functions. 0; -ELIBACC: the library or a function is missing (logged). */
int http_mhd_load(struct http_mhd *out);
