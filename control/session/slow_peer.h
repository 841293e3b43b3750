/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Detection of a slow peer, for one peer and address family. Pure: the functions change their
 * arguments only; session_slow.c takes the samples. Owner: the session thread.
 *
 * Two limits, in ns; 0 turns a limit off:
 *	absolute  the connection has accepted nothing for this time, while routes wait for the peer
 *	relative  the peer is this far behind its update group
 *
 * Time counts only while the connection is full. A look that comes more than SLOW_LATE_NS after the
 * previous look counts as one interval: the session thread was late, not the peer.
 *
 * The flag ends when the peer has caught up and has stayed caught up for the smaller limit; and
 * `switch_back` after its beginning, when detection starts again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SLOW_LOOK_NS 250000000u /* interval of the looks */
#define SLOW_LATE_NS 1000000000u
/* A peer that has caught up stays below this time in both measures. */
#define SLOW_LEVEL_NS 1000000000u

struct slow_limits {
	uint64_t absolute_ns, relative_ns, switch_back_ns;
};

/* The state of the connection and of the update group at one look. */
struct slow_sample {
	bool due; /* routes wait for the connection */
	bool blocked; /* the connection accepts nothing now */
	bool moved; /* the connection has accepted octets since the previous look */
	uint64_t lag_ns; /* time since the group passed the place of the peer; 0: level */
};

enum slow_reason {
	SLOW_ABSOLUTE,
	SLOW_RELATIVE,
	SLOW_CAUGHT_UP,
	SLOW_SWITCH_BACK,
	SLOW_LIMITS_OFF,
	SLOW_SESSION_DOWN
};

enum slow_change { SLOW_SAME, SLOW_BEGINS, SLOW_ENDS };

struct slow_peer {
	bool slow;
	uint8_t reason; /* enum slow_reason of the last change */
	bool level; /* slow: the peer has caught up */
	uint64_t looked_ns; /* the previous look */
	uint64_t stands_ns; /* blocked since the connection last accepted octets */
	uint64_t behind_ns; /* blocked while behind the group */
	uint64_t level_ns; /* slow: time since the peer has caught up */
	uint64_t slow_ns; /* slow: time since the beginning */
	uint64_t count; /* how often the flag was set */
};

/* The looks begin, or begin again after a pause. */
void slow_peer_start(struct slow_peer *p, uint64_t now_ns);
/* One look. */
enum slow_change slow_peer_look(struct slow_peer *p, const struct slow_limits *l,
	const struct slow_sample *s, uint64_t now_ns);
/* True if a limit may be near, or the flag is set: the looks must go on. */
bool slow_peer_watched(const struct slow_peer *p);
/* Undoes SLOW_BEGINS of the last look: the next look decides again. */
void slow_peer_cancel(struct slow_peer *p);
/* The session has ended. */
enum slow_change slow_peer_end(struct slow_peer *p);

const char *slow_reason_text(enum slow_reason r); /* "absolute" ...: keel-rpc(7) */
