/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recorded churn: the UPDATE messages of one peer out of an MRT updates file (BGP4MP and BGP4MP_ET, RFC 6396 4.4), in order, each with
 * the time of arrival. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct updates;

struct recorded {
	uint64_t at_ns; /* since the first message of the file */
	const uint8_t *msg; /* whole, lent until the next call */
	size_t len;
	bool as4;
};

/* `path` may end in .gz. The peer is the sender of the first UPDATE in the file. 0, -errno. */
int updates_open(struct updates **out, const char *path);
/* 1, 0 at the end, -EBADMSG. */
int updates_next(struct updates *u, struct recorded *out);
void updates_close(struct updates *u);
