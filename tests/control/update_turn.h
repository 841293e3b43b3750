/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns of a member of an update group with output, without output, and of a peer that does not read. */
#pragma once

#include "control/export/update_group_impl.h"

static inline void
turn_due(void *ctx, struct peer_id id)
{
	(void)id;
	*(bool *)ctx = true;
}

/* The live changes before a turn. True: members have new messages. */
static inline bool
turn_live(const struct update_member *m, uint64_t deadline_ns)
{
	bool any = false;

	if (update_groups_live_due(m->group->set))
		(void)update_groups_live(m->group->set, deadline_ns, turn_due, &any);
	return any;
}

/* A turn with room for `size` octets. *more: the member has more to send. Returns the octets written. */
static inline size_t
turn_send(struct update_member *m, uint8_t *buf, size_t size, uint64_t deadline_ns, bool *more,
	bool *others, void (*mark)(void *ctx, enum update_group_mark m), void *ctx)
{
	struct update_io io = {.buf = buf, .size = size, .mark = mark, .ctx = ctx};
	bool live = turn_live(m, deadline_ns);
	struct update_turn t = update_member_turn(m, &io, deadline_ns);

	*more = t.state == TURN_MORE;
	*others = t.others || live;
	update_groups_news(m->group->set, turn_due, others);
	return t.len;
}

/* A turn in which another address family of the peer has the output. */
static inline void
turn_hold(struct update_member *m)
{
	struct update_io io = {.taken = true};

	(void)update_member_turn(m, &io, UINT64_MAX);
}

/* A turn of a peer that does not read. True: other members may have work. */
static inline bool
turn_block(struct update_member *m, uint64_t deadline_ns)
{
	struct update_io io = {0};
	bool live = turn_live(m, deadline_ns);

	return update_member_turn(m, &io, deadline_ns).others || live;
}
