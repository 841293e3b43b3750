/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/slow_peer.h"

void
slow_peer_start(struct slow_peer *p, uint64_t now)
{
	p->looked_ns = now;
}

static enum slow_change
slow_begin(struct slow_peer *p, enum slow_reason reason)
{
	p->slow = true;
	p->reason = (uint8_t)reason;
	p->level = false;
	p->level_ns = p->slow_ns = 0;
	p->count++;
	return SLOW_BEGINS;
}

/* Detection starts again. */
static enum slow_change
slow_end(struct slow_peer *p, enum slow_reason reason)
{
	p->slow = false;
	p->reason = (uint8_t)reason;
	p->stands_ns = p->behind_ns = 0;
	return SLOW_ENDS;
}

/* The smaller limit; 0: both are off. */
static uint64_t
smaller(const struct slow_limits *l)
{
	if (l->absolute_ns == 0 || (l->relative_ns != 0 && l->relative_ns < l->absolute_ns))
		return l->relative_ns;
	return l->absolute_ns;
}

static void
measure(struct slow_peer *p, const struct slow_sample *s, uint64_t step)
{
	bool held_up = s->due && s->blocked;

	p->stands_ns = held_up && !s->moved ? p->stands_ns + step : 0;
	if (s->lag_ns <= SLOW_LOOK_NS)
		p->behind_ns = 0;
	else if (held_up)
		p->behind_ns += step;
}

/*
 * The peer has caught up when no route waits. From then on routes may wait for a moment, as for any
 * peer.
 */
static void
measure_level(struct slow_peer *p, const struct slow_sample *s, uint64_t step)
{
	if (p->stands_ns >= SLOW_LEVEL_NS || s->lag_ns >= SLOW_LEVEL_NS)
		p->level = false;
	p->level_ns = p->level ? p->level_ns + step : 0;
	if (!s->due)
		p->level = true;
}

enum slow_change
slow_peer_look(
	struct slow_peer *p, const struct slow_limits *l, const struct slow_sample *s, uint64_t now)
{
	uint64_t step = now - p->looked_ns;

	p->looked_ns = now;
	if (step > SLOW_LATE_NS)
		step = SLOW_LOOK_NS;
	measure(p, s, step);
	if (!p->slow) {
		if (l->absolute_ns != 0 && p->stands_ns >= l->absolute_ns)
			return slow_begin(p, SLOW_ABSOLUTE);
		/* both: the group may have passed the peer before the connection was full */
		if (l->relative_ns != 0 && p->behind_ns >= l->relative_ns &&
			s->lag_ns >= l->relative_ns)
			return slow_begin(p, SLOW_RELATIVE);
		return SLOW_SAME;
	}
	p->slow_ns += step;
	measure_level(p, s, step);
	if (smaller(l) == 0)
		return slow_end(p, SLOW_LIMITS_OFF);
	if (p->level && p->level_ns >= smaller(l))
		return slow_end(p, SLOW_CAUGHT_UP);
	if (p->slow_ns >= l->switch_back_ns)
		return slow_end(p, SLOW_SWITCH_BACK);
	return SLOW_SAME;
}

void
slow_peer_cancel(struct slow_peer *p)
{
	p->slow = false;
	p->count--;
}

bool
slow_peer_watched(const struct slow_peer *p)
{
	return p->slow || p->stands_ns > 0 || p->behind_ns > 0;
}

enum slow_change
slow_peer_end(struct slow_peer *p)
{
	enum slow_change change = p->slow ? slow_end(p, SLOW_SESSION_DOWN) : SLOW_SAME;

	p->stands_ns = p->behind_ns = 0;
	return change;
}

const char *
slow_reason_text(enum slow_reason r)
{
	static const char *const texts[] = {[SLOW_ABSOLUTE] = "absolute",
		[SLOW_RELATIVE] = "relative",
		[SLOW_CAUGHT_UP] = "caught-up",
		[SLOW_SWITCH_BACK] = "switch-back",
		[SLOW_LIMITS_OFF] = "limits-off",
		[SLOW_SESSION_DOWN] = "session-down"};

	return texts[r];
}
