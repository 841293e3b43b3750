/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture file in the pcapng format, which Wireshark and tshark open. BGP messages are written as
 * TCP segments of their session, with addresses and ports. Sequence numbers count the octets in the
 * capture, so a stream is whole even if the capture has a part of the messages. Notes are journal
 * entries (block type 9) between the packets.
 *
 * Owner: the thread that created the capture. Writes are buffered.
 */
#pragma once

#include "lpm/base/prefix.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture;

struct capture_segment {
	uint64_t time_ns; /* Unix time */
	struct ip_addr local, remote; /* of one address family */
	uint16_t local_port, remote_port;
	bool sent; /* from `local` */
	const uint8_t *octets;
	size_t len;
};

/*
 * Creates a file that does not exist yet. 0, -EEXIST, -errno. A failed write is reported by
 * capture_failed(), later writes do nothing.
 */
int capture_create(const char *path, struct capture **out);
void capture_segment(struct capture *c, const struct capture_segment *s);
void capture_note(struct capture *c, uint64_t time_ns, const char *text);
uint64_t capture_octets(const struct capture *c); /* written so far */
/* 0, or the -errno of the first failed write. */
int capture_failed(const struct capture *c);
/* Writes the buffer and frees `c` (may be NULL). 0, or as capture_failed(). */
int capture_close(struct capture *c);
