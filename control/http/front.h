/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol of keeld and keel-http. keeld starts keel-http with one end of a socket pair
 * (SOCK_SEQPACKET): no path leads to the pair, so no other process can send HTTP requests of a user.
 * keeld listens, and gives the listener to keel-http.
 *
 * For an HTTP request keel-http makes a stream, and gives one end to keeld. keeld checks the token,
 * answers FRONT_GOOD or FRONT_WRONG, and serves the stream like a connection to the RPC socket: a line
 * for a request, a line for the answer. After shutdown(2) by keel-http, keeld sends an empty line behind
 * the last answer. A stream without the empty line was cut.
 *
 * Both programs: main.
 */
#pragma once

#include "lpm/base/base.h"

#define FRONT_FD 3 /* the pair's end in keel-http */
#define FRONT_TOKEN_MAX 4095u
#define FRONT_ADDRESS_MAX 45u
/* The first octet of a stream. */
#define FRONT_GOOD '+'
#define FRONT_WRONG '-' /* no such token */
/* Octets of a request without and with a token; a longer one is refused by keel-http. */
#define FRONT_REQUEST_MAX (256u << 10)
#define FRONT_TOKEN_REQUEST_MAX (16u << 20)
#define FRONT_ANSWER_MAX (64u << 20)

enum front_kind {
	FRONT_READY = 1, /* to keeld: a new keel-http has no listener */
	FRONT_LISTENER, /* to keel-http, with the listener */
	FRONT_OPEN, /* to keeld, with the end of a stream */
};

struct front_message {
	uint8_t kind; /* enum front_kind */
	/* FRONT_OPEN */
	uint8_t has_token; /* else the stream may read only */
	uint8_t own; /* the requests are of keel-http itself: for a page of metrics, or a probe */
	char from[FRONT_ADDRESS_MAX + 1]; /* address of the client */
	char token[FRONT_TOKEN_MAX + 1];
};

/* `passed` -1: no descriptor; it stays open here. 0; -EAGAIN: full; -errno. */
int front_send(int fd, const struct front_message *m, int passed);
/*
 * Receives one message, with texts that end. *passed is -1, or a descriptor that the caller closes. 0;
 * -EAGAIN; -EPIPE: the other side has ended; -errno.
 */
int front_receive(int fd, struct front_message *m, int *passed);
