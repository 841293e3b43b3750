/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slow peers (`slow_peer` of a peer or group): samples for slow_peer.c, and the flag `slow` of a
 * peer and family with its event and log line.
 *
 * A peer whose connection is full is looked at every SLOW_LOOK_NS, and so is a slow peer, until it
 * is slow no more. Other peers cost nothing.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

/* A look that comes this late sends first, since the connection may have had room for some time. */
#define LATE_NS (SLOW_LOOK_NS / 2)

static struct slow_limits
limits_of(const struct peer *p)
{
	const struct config_slow_peer *k = &p->config.slow_peer;

	return (struct slow_limits){.absolute_ns = k->absolute_s * NS_PER_S,
		.relative_ns = k->relative_s * NS_PER_S,
		.switch_back_ns = k->switch_back_s * NS_PER_S};
}

static bool
is_full(const struct connection *c)
{
	return c->tx_head < c->tx_tail;
}

/* Main reads the flags for bgp.reset. */
static void
flag_publish(const struct peer_family *f)
{
	struct speaker *s = f->peer->speaker;
	uint8_t bits = atomic_load_explicit(&s->slow[f->peer->id.v], memory_order_relaxed);
	uint8_t bit = (uint8_t)(1u << f->family);

	bits = f->slow.slow ? bits | bit : bits & (uint8_t)~bit;
	/* relaxed: one writer, and the flag publishes no other data */
	atomic_store_explicit(&s->slow[f->peer->id.v], bits, memory_order_relaxed);
}

bool
speaker_is_slow(const struct speaker *s, struct peer_id id, enum family f)
{
	return atomic_load_explicit(&s->slow[id.v], memory_order_relaxed) >> f & 1;
}

/* The memory for both events is reserved when the flag is set. */
static void
flag_report(struct peer_family *f, bool begins)
{
	const struct peer *p = f->peer;
	const char *reason = slow_reason_text((enum slow_reason)f->slow.reason);
	struct session_event e = {.kind = begins ? SESSION_SLOW : SESSION_SLOW_END,
		.peer = p->id,
		.family = f->family,
		.reason = reason};

	flag_publish(f);
	if (begins)
		log_event(LOG_WARNING, "slow-peer peer=%s vrf=%s family=%s reason=%s",
			p->config.addr_text, p->vrf_name, family_text(f->family), reason);
	else
		log_event(LOG_INFO, "slow-peer-end peer=%s vrf=%s family=%s reason=%s",
			p->config.addr_text, p->vrf_name, family_text(f->family), reason);
	p->speaker->config.event(p->speaker->config.ctx, &e);
}

/* True if the family must be looked at again. */
static bool
family_look(struct peer_family *f, const struct slow_limits *limits, uint64_t now)
	RUNS_ON(role_session)
{
	const struct connection *c = f->peer->up;
	struct slow_sample sample = {
		.due = c->tx_families >> f->family & 1 || update_group_waits(f->group),
		.blocked = is_full(c),
		.moved = c->sent_ns > f->slow.looked_ns,
		.lag_ns = update_group_lag_ns(f->group, now)};
	enum slow_change change = slow_peer_look(&f->slow, limits, &sample, now);

	if (change == SLOW_BEGINS && event_reserve(f->peer->speaker, 2) != 0) {
		slow_peer_cancel(&f->slow); /* no memory: the next look finds the same */
		change = SLOW_SAME;
	}
	if (change != SLOW_SAME)
		flag_report(f, change == SLOW_BEGINS);
	return slow_peer_watched(&f->slow);
}

/* True if the peer must be looked at again. */
static bool
peer_look(struct peer *p, bool late) RUNS_ON(role_session)
{
	struct slow_limits limits = limits_of(p);
	bool watched;
	uint64_t now;

	if (late)
		connection_flush(p->up);
	now = now_ns(); /* after the flush: the octets sent by the flush count for this look */
	watched = is_full(p->up) && (limits.absolute_ns != 0 || limits.relative_ns != 0);
	for (unsigned i = 0; i < FAMILY_COUNT; i++)
		if (p->family[i].group != NULL)
			watched |= family_look(&p->family[i], &limits, now);
	return watched;
}

static void
looks_arm(struct speaker *s)
{
	s->slow_due_ns = now_ns() + SLOW_LOOK_NS;
	timer_arm(s->thread, &s->slow_timer, SLOW_LOOK_NS);
}

static void
looks_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, slow_timer);
	bool late = now_ns() - s->slow_due_ns > LATE_NS;
	struct peer *p;

	RING_EACH(p, &s->slow_peers, slow_ring)
	{
		if (!peer_look(p, late))
			ring_remove(&p->slow_ring);
	}
	if (!ring_empty(&s->slow_peers))
		looks_arm(s);
}

void
slow_watch(struct peer *p)
{
	struct speaker *s = p->speaker;
	uint64_t now;

	if (p->slow_ring.next != NULL ||
		(p->config.slow_peer.absolute_s == 0 && p->config.slow_peer.relative_s == 0))
		return;
	now = now_ns();
	for (unsigned i = 0; i < FAMILY_COUNT; i++)
		slow_peer_start(&p->family[i].slow, now);
	ring_insert(&s->slow_peers, &p->slow_ring);
	if (s->slow_timer.deadline_ns == 0)
		looks_arm(s);
}

void
slow_config(struct peer *p)
{
	if (p->up != NULL && is_full(p->up))
		slow_watch(p);
}

void
slow_down(struct peer *p)
{
	ring_remove(&p->slow_ring);
	for (unsigned i = 0; i < FAMILY_COUNT; i++)
		if (slow_peer_end(&p->family[i].slow) == SLOW_ENDS)
			flag_report(&p->family[i], false);
}

void
slow_init(struct speaker *s)
{
	s->slow_timer.fire = looks_fire;
	ring_init(&s->slow_peers);
}
