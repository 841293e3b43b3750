/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members behind the stream: bulk has waited for them long enough, or the stream held as much as a group keeps. Two bits a destination record
 * missed changes: `tell`, a route must be announced; `gone`, the route must be withdrawn. Repeated changes of a destination set one bit. The
 * member returns to the stream when no bit is set.
 *
 * Order: announcements may be early. A member withdraws only when no announcement is left (the peer then has at least the routes of the group), and only
 * while no withdrawal of the group must wait (rib/table/journal.h). A cursor of the member holds the tombstones of `gone`. When too many tombstones are held, the
 * shards wait; when the peer does not read (below), a shard evicts the cursor of this member alone.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"

#include <errno.h>
#include <string.h>

/* ---- bits, by destination id + 1: DEST_DEFAULT is the first ---- */

bool
bits_has(const struct bits *b, struct dest_id id)
{
	uint32_t at = id.v + 1;

	return at / 64 < b->words && (b->word[at / 64] >> at % 64 & 1);
}

int
bits_set(struct arena *a, struct bits *b, struct dest_id id)
{
	uint32_t at = id.v + 1;

	if (at / 64 >= b->words) {
		uint32_t words = b->words > 0 ? b->words : 64;
		uint64_t *word;

		while (words <= at / 64)
			words *= 2;
		word = arena_realloc(a, b->word, words * sizeof(*word));
		if (word == NULL)
			return -ENOMEM;
		memset(word + b->words, 0, (words - b->words) * sizeof(*word));
		b->word = word;
		b->words = words;
	}
	b->count += !bits_has(b, id);
	b->word[at / 64] |= 1ull << at % 64;
	return 0;
}

void
bits_fill(struct bits *b, uint32_t limit)
{
	uint32_t end = limit + 1;

	memset(b->word, 0xff, end / 64 * sizeof(*b->word));
	if (end % 64 != 0)
		b->word[end / 64] = (1ull << end % 64) - 1;
	b->word[0] &= ~1ull;
	b->count = limit;
}

bool
bits_clear(struct bits *b, struct dest_id id)
{
	uint32_t at = id.v + 1;

	if (!bits_has(b, id))
		return false;
	b->word[at / 64] &= ~(1ull << at % 64);
	b->count--;
	return true;
}

void
bits_fini(struct arena *a, struct bits *b)
{
	arena_free(a, b->word);
	*b = (struct bits){0};
}

bool
bits_next(const struct bits *b, uint32_t *at, struct dest_id *id)
{
	for (uint32_t w = *at / 64; w < b->words; w++) {
		uint64_t word = b->word[w];

		if (w == *at / 64)
			word &= ~0ull << *at % 64;
		if (word == 0)
			continue;
		*at = w * 64 + (uint32_t)__builtin_ctzll(word) + 1;
		id->v = *at - 2;
		return true;
	}
	*at = 0;
	return false;
}

/* ---- falling behind, and catching up ---- */

void
behind_mark(struct update_member *m, struct dest_id id, bool present)
{
	struct bits *b = present ? &m->tell : &m->gone;

	bits_clear(present ? &m->gone : &m->tell, id);
	if (bits_set(m->group->set->c.arena, b, id) < 0)
		m->error = -ENOMEM;
}

/* With too many such destinations, the rest comes in the order of ids. */
void
behind_urge(struct update_member *m, struct dest_id id)
{
	if (m->urgent_count < URGENT_MAX)
		m->urgent[m->urgent_count++] = id;
}

bool
message_is_for(const struct update_member *m, const struct message *msg)
{
	switch (msg->kind) {
	case MESSAGE_ALL_BUT:
		return msg->who.v != m->id.v;
	case MESSAGE_ONLY:
		return msg->who.v == m->id.v;
	case MESSAGE_WALK_BUT:
		return (m->begun || m->owed_begin) && !m->owed_end && msg->who.v != m->id.v;
	case MESSAGE_WALK_BEGIN:
	case MESSAGE_WALK_END:
		return msg->walk == m->walk;
	case MESSAGE_POLICY_END:
		return !m->dumping;
	case MESSAGE_SETTLED:
		return msg->who.v == m->id.v;
	}
	return false;
}

/* The member will not copy this message. */
void
message_miss(struct update_member *m, const struct message *msg)
{
	const uint32_t *id = message_ids(msg);

	if (!message_is_for(m, msg))
		return;
	switch (msg->kind) {
	case MESSAGE_WALK_BEGIN:
		m->owed_begin = true;
		return;
	case MESSAGE_WALK_END:
		m->owed_end = true;
		m->end_lap = m->laps + 2;
		return;
	case MESSAGE_POLICY_END:
		m->owed_policy = true;
		return;
	case MESSAGE_SETTLED:
		m->owed_settled = msg->walk;
		return;
	default:
		break;
	}
	for (uint32_t i = 0; i < msg->id_count && m->error == 0; i++) {
		behind_mark(m, (struct dest_id){id[i]}, !msg->withdraw);
		if (msg->live)
			behind_urge(m, (struct dest_id){id[i]});
	}
}

void
behind_begin(struct update_member *m)
{
	struct update_group *g = m->group;
	const struct message *msg = m->at->next;
	int err = g->tail != NULL ? journal_hold(g->set->journal, g->tail, &m->cursor) : -ENOSPC;

	if (err < 0) {
		m->error = err;
		m->cursor = NULL;
	} else if (msg != NULL) {
		journal_advance(g->set->journal, m->cursor, msg->passed);
	}
	m->behind_tick = msg != NULL ? msg->tick : tick_of(g->set->now_ns);
	g->deferred -= m->gone.count;
	m->urgent_count = 0;
	for (; msg != NULL; msg = msg->next)
		message_miss(m, msg);
	member_stand(m, NULL);
	m->state = MEMBER_BEHIND;
	m->tell_at = m->gone_at = 0;
	m->later = m->lap_sent = false;
	m->later_until = 0;
	g->stream_count--;
	g->ready_count -= !m->full;
	g->behind_count++;
	g->version += g->ready_count == 0; /* from here on the members behind drive the stream */
	g->stats.fell_behind++;
	m->lap_passed = m->cursor != NULL ? journal_passed(m->cursor) : 0;
}

/* The member has read all that the group has read, and follows the stream of the group again. */
static void
behind_end(struct update_member *m)
{
	struct update_group *g = m->group;

	if (m->cursor != NULL)
		journal_unsubscribe(g->set->journal, m->cursor);
	m->cursor = NULL;
	bits_fini(g->set->c.arena, &m->tell);
	bits_fini(g->set->c.arena, &m->gone);
	m->state = MEMBER_STREAM;
	member_stand(m, g->last);
	g->stream_count++;
	g->ready_count += !m->full;
	g->behind_count--;
}

void
behind_pass(struct update_member *m, uint64_t passed)
{
	if (m->state == MEMBER_BEHIND && m->gone.count == 0 && m->cursor != NULL)
		journal_advance(m->group->set->journal, m->cursor, passed);
}

/* ---- peers that do not read ---- */

#define LOOK_NS 100000000u /* maximum counted between two turns; more is a delay of this thread */

/* A member will drive the group in its turn. */
static bool
is_driven(const struct update_group *g)
{
	for (const struct update_member *m = g->members; m != NULL; m = m->next)
		if (m->error == 0 && !m->full && (m->state != MEMBER_BEHIND || g->ready_count == 0))
			return true;
	return false;
}

/* Drives the group when no member can: the group's place in the journal must not depend on a connection. */
static bool
group_drive(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	bool any = false;

	if (is_driven(g))
		return false;
	rules_run_end(g->set);
	while (stream_produce(g, deadline_ns)) {
		any = true;
		if (now_ns() >= deadline_ns)
			break;
	}
	return any;
}

/*
 * The group no longer keeps messages for this member: the member falls behind, and its own cursor, which may be evicted, holds the tombstones.
 */
static void
member_stall(struct update_member *m)
{
	struct update_group *g = m->group;

	if (m->state == MEMBER_STREAM && m->at == g->first && m->at->next != NULL &&
		g->tail != NULL) {
		behind_begin(m);
		stream_trim(g);
	}
	/* A member without withdrawals is late only when this thread is late. */
	if (m->cursor != NULL)
		journal_set_patience(m->cursor, m->gone.count > 0 ? JOURNAL_EVICT : JOURNAL_WAIT);
}

void
stall_end(struct update_member *m)
{
	if (m->spent_ns != 0 && m->cursor != NULL)
		journal_set_patience(m->cursor, JOURNAL_WAIT);
	m->spent_ns = m->spent_octets = 0;
}

bool
member_blocked(struct update_member *m, uint64_t deadline_ns)
{
	uint64_t now = now_ns(), step = m->blocked_ns != 0 ? now - m->blocked_ns : 0;

	m->blocked_ns = now;
	m->spent_ns += step < LOOK_NS ? step : LOOK_NS;
	if (member_error(m) != 0 || !journal_pressed(m->group->set->journal))
		return false;
	if (m->spent_ns >= m->group->set->c.stall_ns)
		member_stall(m);
	behind_pass(
		m, group_passed(
			   m->group)); /* the group may have read entries that concern no member */
	return group_drive(m->group, deadline_ns);
}

/* ---- messages of one member ---- */

/* All withdrawals from before the beginning of the last lap have been sent. */
static void
lap_done(struct update_member *m)
{
	struct update_group *g = m->group;

	if (m->cursor == NULL)
		return;
	if (m->lap_passed > journal_passed(m->cursor))
		journal_advance(g->set->journal, m->cursor, m->lap_passed);
	m->lap_passed = group_passed(g);
}

static bool
member_may_withdraw(const struct update_member *m)
{
	return m->tell.count == 0 && group_settled(m->group);
}

/* The message that is due for a destination with a bit. */
enum due { DUE_NOTHING, DUE_OTHER, DUE_LATER, DUE_NOW };

/* DUE_NOW: the message is in the batch. DUE_LATER: the destination has changed, and the journal or a walk will bring the change. */
static enum due
item_due(struct update_member *m, struct dest_id id, bool gone)
{
	struct update_group *g = m->group;
	struct adj_route r = adj_rib_out_get(g->out, id);
	bool has = member_has(m, r);
	struct offer o = {.made = MADE_NONE};
	struct dest_id other;
	struct route_key k;
	int err = 0;

	if (!key_of(g, id, &k) || (!has && default_other(g, id, &k, &other) &&
					  member_has(m, adj_rib_out_get(g->out, other))))
		return DUE_NOTHING;
	if (has == gone)
		return DUE_OTHER;
	if (!gone && (!route_again(g, id, r, &o) || !offer_make(g, &o, &err))) {
		if (err < 0)
			m->error = err;
		return DUE_LATER;
	}
	batch_put(m, id, &k, o.made, r.label);
	return DUE_NOW;
}

/* Puts the next destinations into the batch. This takes at most half of the time, so that the other half is left for the messages. */
static void
items_collect(struct update_member *m, bool gone, uint64_t deadline_ns)
{
	struct update_groups *s = m->group->set;
	struct bits *b = gone ? &m->gone : &m->tell;
	uint32_t *at = gone ? &m->gone_at : &m->tell_at;
	uint64_t now = now_ns(), half = now < deadline_ns ? now + (deadline_ns - now) / 2 : now;
	unsigned looked = 0;
	struct dest_id id;

	rules_run_end(s);
	while (s->change_count < BEHIND_ITEMS && !batch_full(s) &&
		(++looked % BEHIND_LOOKS != 0 || now_ns() < half) && bits_next(b, at, &id)) {
		switch (item_due(m, id, gone)) {
		case DUE_NOTHING:
			bits_clear(b, id);
			break;
		case DUE_OTHER: /* the destination has changed since its bit was set */
			behind_mark(m, id, gone);
			break;
		case DUE_LATER:
			if (!m->later)
				m->later_since = m->group->version;
			m->later = true;
			break;
		case DUE_NOW:
			break;
		}
	}
	if (*at == 0 && !gone)
		m->laps++;
}

/* The routes that cannot be made now wait until the group has read more. EoRR waits for these routes, too. */
static void
tell_lap_end(struct update_member *m)
{
	if (m->later) {
		m->end_lap = m->laps + 1;
		if (!m->lap_sent)
			m->later_until = m->later_since + 1;
	}
	m->later = m->lap_sent = false;
}

/* True if no announcement can be made before the group has read more. */
static bool
tell_waits(const struct update_member *m)
{
	return m->later_until == m->group->version + 1;
}

/* False: no room, or no time. */
static bool
send_destinations(struct update_member *m, bool gone, struct output *o) RUNS_ON(role_session)
{
	uint32_t *at = gone ? &m->gone_at : &m->tell_at, from = *at;
	size_t room = o->room;
	bool whole;

	items_collect(m, gone, o->deadline_ns);
	whole = batch_write(m, gone ? &m->gone : &m->tell, o);
	m->lap_sent |= !gone && o->room < room;
	if (!whole) { /* continue there in the next turn */
		m->laps -= !gone && *at == 0;
		*at = from;
		return false;
	}
	if (gone && (m->gone_at == 0 || m->gone.count == 0)) {
		m->gone_at = 0;
		lap_done(m);
	}
	if (!gone && m->tell_at == 0)
		tell_lap_end(m);
	return now_ns() < o->deadline_ns;
}

/* False: no room. */
static bool
send_urgent(struct update_member *m, struct output *o) RUNS_ON(role_session)
{
	rules_run_end(m->group->set);
	while (m->urgent_count > 0) {
		struct dest_id id = m->urgent[m->urgent_count - 1];

		if (bits_has(&m->tell, id))
			(void)item_due(m, id, false);
		if (!batch_write(m, &m->tell, o))
			return false;
		m->urgent_count--;
	}
	return true;
}

/* At EoRR the peer removes every route that was not announced since BoRR. EoRR therefore waits like a withdrawal. */
static bool
end_due(const struct update_member *m)
{
	bool takes_away = m->framed && !m->dumping && m->gone.count > 0;

	return m->owed_end && !m->owed_begin && (!takes_away || member_may_withdraw(m)) &&
	       (m->tell.count == 0 || (int32_t)(m->laps - m->end_lap) >= 0);
}

static void
report_settled(struct update_member *m, struct output *o)
{
	if ((int32_t)(m->owed_settled - m->settled) <= 0)
		return;
	m->settled = m->owed_settled;
	o->mark(o->ctx, MARK_SETTLED);
}

void
behind_run(struct update_member *m, struct output *o)
{
	while (m->state == MEMBER_BEHIND && m->error == 0 && labels_installed(m->group)) {
		if (m->owed_begin) {
			if (!member_frame(m, true, o))
				return;
			m->owed_begin = false;
		} else if (end_due(m)) {
			if (!member_frame(m, false, o))
				return;
			m->owed_end = false;
		} else if (m->urgent_count > 0) {
			if (!send_urgent(m, o))
				return;
		} else if (m->tell.count > 0) {
			if (tell_waits(m) || !send_destinations(m, false, o))
				return;
		} else if (m->gone.count > 0) {
			if (!member_may_withdraw(m) || !send_destinations(m, true, o))
				return;
		} else {
			if (m->owed_policy)
				o->mark(o->ctx, MARK_POLICY_DONE);
			m->owed_policy = false;
			report_settled(m, o);
			behind_end(m);
		}
	}
}

bool
behind_pending(const struct update_member *m)
{
	if (!labels_installed(m->group))
		return false;
	return m->owed_begin || (m->tell.count > 0 && !tell_waits(m)) ||
	       (m->tell.count == 0 && m->gone.count == 0) || member_may_withdraw(m) ||
	       (m->group->ready_count == 0 && stream_pending(m->group));
}
