/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The helper's half of graceful restart, RFC 4724 4.2 and RFC 8538: when a session ends, which families keep their routes, stale; and
 * what ends that: the peer's End-of-RIB, a new session that does not keep them, time, or an operator.
 *
 * We keep no forwarding state over our own restart, so what we say of ourselves is capability 64 without families, and nobody
 * retains anything of ours. RFC 8538 3.1 lets who resets choose: a reset, a shutdown and a changed configuration mean what BIRD and FRR
 * mean by them, that all is gone, and no retention; as nothing of ours is retained over there, it needs no Hard Reset to say so.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

/* May the routes stay when the session ends so? */
static bool
end_retains(const struct connection *c, enum fsm_event event, const struct note *note)
{
	/* RFC 8538 3: both sides take a NOTIFICATION, sent or received, for no more than the session's end. */
	bool both = c->open.restart_notification && c->peer->config.capabilities.graceful_restart;

	switch (event) {
	case EV_TCP_FAIL: /* RFC 4724 4.2: without a word */
		return true;
	case EV_NOTIFICATION:
		return both && !c->hard_reset;
	case EV_BAD_MESSAGE:
		/* What we give up for want of room is not kept in it. */
		return both && (note == NULL || note->code != ERR_CEASE);
	case EV_STOP: /* the operator, or a limit that the peer has passed */
	case EV_OPEN_COLLISION:
		return false;
	default:
		return both;
	}
}

uint8_t
restart_families(const struct connection *c)
{
	if (!c->peer->config.capabilities.graceful_restart || !c->open.graceful_restart ||
		c->open.restart_time_s == 0)
		return 0;
	return c->open.restart_families & c->n.families;
}

uint8_t
restart_retain(const struct connection *c, enum fsm_event event, const struct note *note)
{
	return end_retains(c, event, note) ? restart_families(c) : 0;
}

static void
retained_end(struct peer_family *f)
{
	f->retained = false;
	timer_cancel(f->peer->speaker->thread, &f->restart);
}

/* Swept by the shard: what is stale by now. */
static void
retained_flush(struct peer_family *f, const char *reason) RUNS_ON(role_session)
{
	struct peer *p = f->peer;

	log_event(LOG_INFO, "restart-flush peer=%s vrf=%s family=%s reason=%s", p->config.addr_text,
		p->vrf_name, family_text(f->family), reason);
	retained_end(f);
	input_owe_stale(f);
}

void
restart_lost(struct connection *c, uint8_t retain)
{
	struct peer *p = c->peer;
	uint64_t wait = c->open.restart_time_s * NS_PER_S;
	bool unheard = p->owed_up; /* the shard knows nothing of the session that ended */

	for (enum family id = 0; id < FAMILY_COUNT; id++) {
		struct peer_family *f = &p->family[id];
		bool stays = retain & 1u << id;

		if (unheard) {
			/* What the one before it left is all there is. */
			if (f->retained && !stays)
				retained_flush(f, "not-kept");
			stays &= f->retained;
		}
		f->retained = stays;
		if (!stays) {
			timer_cancel(p->speaker->thread, &f->restart);
			continue;
		}
		timer_arm(p->speaker->thread, &f->restart, wait);
		log_event(LOG_INFO, "restart-wait peer=%s vrf=%s family=%s time=%u",
			p->config.addr_text, p->vrf_name, family_text(id), c->open.restart_time_s);
	}
	input_owe_down(p, retain);
}

bool
restart_waits(const struct peer *p)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].retained)
			return true;
	}
	return false;
}

/* RFC 4724 4.2: in the new OPEN, the family with its forwarding state kept; else its routes go at once. */
void
restart_up(struct connection *c)
{
	struct peer *p = c->peer;
	uint8_t kept = restart_families(c) & c->open.forwarding_families;

	for (enum family id = 0; id < FAMILY_COUNT; id++) {
		struct peer_family *f = &p->family[id];

		if (!f->retained)
			continue;
		if (kept & 1u << id)
			timer_arm(p->speaker->thread, &f->restart,
				p->config.timers.stale_refresh_s * NS_PER_S);
		else
			retained_flush(f, "not-kept");
	}
}

void
restart_end_of_rib(struct peer_family *f)
{
	if (f->retained)
		retained_end(f); /* the shard sweeps by the same message */
}

void
restart_forget(struct peer *p)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].retained)
			retained_flush(&p->family[f], "reset");
	}
}

/* The peer did not come back, or has not said End-of-RIB. */
static void
restart_fire(struct timer *t)
{
	struct peer_family *f = container_of(t, struct peer_family, restart);

	role_enter_session();
	if (!f->retained)
		return;
	retained_flush(f, f->peer->up != NULL ? "no-end-of-rib" : "restart-time");
	input_settle(f->peer->speaker);
	peer_restart(f->peer);
}

void
restart_init(struct peer_family *f)
{
	f->restart.fire = restart_fire;
}
