/* SPDX-License-Identifier: BSD-3-Clause */
/* For feed and crowd: splits received octets into messages. */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "tests/bench/tool.h"

/* Passes each whole message to `take`, until `take` returns false; then `buf` is invalid. The rest moves to the front. */
static inline void
stream_messages(uint8_t *buf, size_t *len, size_t message_max,
	bool (*take)(void *ctx, uint8_t type, const uint8_t *msg, size_t len), void *ctx)
{
	size_t at = 0;

	while (*len - at >= BGP_HEADER_LEN) {
		uint8_t type;
		uint16_t n;

		if (bgp_header_decode(buf + at, message_max, &type, &n).severity == SESSION_RESET)
			die("message header", EBADMSG);
		if (*len - at < n)
			break;
		if (!take(ctx, type, buf + at, n))
			return;
		at += n;
	}
	memmove(buf, buf + at, *len - at);
	*len -= at;
}
