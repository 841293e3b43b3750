/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graceful restart, helper role (RFC 4724 4.2, RFC 8538): decides which families keep stale routes
 * after the end of a session. Retention ends with the End-of-RIB of the peer, with a new session
 * that does not preserve the family, with a timer, or by an operator.
 *
 * Long-lived graceful restart (RFC 9494), helper role: after the restart time the routes stay for the
 * long-lived time of the peer, at most timers.long_lived_stale_time. The shard gives them the
 * community LLGR_STALE, which is the lowest rank, and removes routes with NO_LLGR. The time runs
 * until the End-of-RIB of the peer; new sessions, and their losses, do not change the time.
 *
 * RFC 8538 3.1 leaves the choice to the sender of a reset: for reset, shutdown and a changed
 * configuration we flush all routes, as BIRD and FRR do.
 *
 * Restarting role (RFC 4724 4.1), only with keelfwd, which forwards while keeld is absent: the OPEN
 * lists all families of the session, after a restart with the R bit and the F bits. Without keelfwd
 * a restart loses the forwarding state: capability 64 has no families, so no peer retains our
 * routes. With keelfwd the N bit of RFC 8538 is not sent, so a NOTIFICATION ends the retention, and
 * a Hard Reset is not necessary in either case.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

/* True if an end of the session by `event` permits retention. */
static bool
end_retains(const struct connection *c, enum fsm_event event, const struct note *note)
{
	/*
	 * RFC 8538 3: both sides treat a NOTIFICATION, sent or received, as a loss of the session.
	 */
	bool both = c->open.restart_notification && c->peer->config.capabilities.graceful_restart &&
		    !c->peer->speaker->config.restarts; /* our N bit */

	switch (event) {
	case EV_TCP_FAIL: /* RFC 4724 4.2: without a NOTIFICATION */
		return true;
	case EV_NOTIFICATION:
		return both && !c->hard_reset;
	case EV_BAD_MESSAGE:
		/* Not after Cease / Out of Resources: the memory of the routes is needed. */
		return both && (note == NULL || note->code != ERR_CEASE);
	case EV_LINK_DOWN: /* the routes lead over the lost link */
	case EV_STOP: /* by an operator, or a limit was exceeded */
	case EV_OPEN_COLLISION:
		return false;
	default:
		return both;
	}
}

/* Families of graceful restart without a long-lived phase. */
static uint8_t
short_families(const struct connection *c)
{
	if (!c->peer->config.capabilities.graceful_restart || !c->open.graceful_restart ||
		c->open.restart_time_s == 0)
		return 0;
	return c->open.restart_families & c->n.families;
}

/* The length of the long-lived phase; 0: the family has no such phase. */
static uint32_t
long_lived_time(const struct connection *c, enum family f)
{
	uint32_t most = c->peer->config.timers.long_lived_stale_time;

	if (!c->peer->config.capabilities.graceful_restart || !c->open.graceful_restart ||
		!c->open.long_lived || !(c->open.long_lived_families & c->n.families & 1u << f))
		return 0;
	return c->open.long_lived_s[f] < most ? c->open.long_lived_s[f] : most;
}

static uint8_t
long_lived_families(const struct connection *c)
{
	unsigned families = 0;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		families |= long_lived_time(c, f) > 0 ? 1u << f : 0;
	return (uint8_t)families;
}

uint8_t
restart_families(const struct connection *c)
{
	return short_families(c) | long_lived_families(c);
}

uint8_t
restart_retain(const struct connection *c, enum fsm_event event, const struct note *note)
{
	unsigned families = end_retains(c, event, note) ? restart_families(c) : 0;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		families &= c->peer->family[f].overdue ? ~(1u << f) : ~0u;
	return (uint8_t)families;
}

static void
retained_end(struct peer_family *f)
{
	f->retained = false;
	timer_cancel(f->peer->speaker->thread, &f->restart);
}

/* Makes the shard flush the stale routes. */
static void
retained_flush(struct peer_family *f, const char *reason) RUNS_ON(role_session)
{
	struct peer *p = f->peer;

	log_event(LOG_INFO, "restart-flush peer=%s vrf=%s family=%s reason=%s", p->config.addr_text,
		p->vrf_name, family_text(f->family), reason);
	retained_end(f);
	input_owe_stale(f);
	rt_retained(p);
}

void
restart_lost(struct connection *c, uint8_t retain)
{
	struct peer *p = c->peer;
	uint8_t brief = short_families(c);
	bool unreported = p->owed_up; /* the shard does not know the session that has ended */
	struct rib_session_down down = {.retain = retain};

	for (enum family id = 0; id < FAMILY_COUNT; id++) {
		struct peer_family *f = &p->family[id];
		bool stays = retain & 1u << id;

		f->overdue = false;
		if (unreported) {
			/* Only routes of an earlier session can be retained. */
			if (f->retained && !stays)
				retained_flush(f, "not-kept");
			stays &= f->retained;
		}
		if (stays && f->retained && f->long_lived) {
			down.long_lived |= (uint8_t)(1u << id);
			continue;
		}
		f->retained = stays;
		f->long_lived = false;
		f->long_lived_s = stays ? long_lived_time(c, id) : 0;
		if (!stays) {
			timer_cancel(p->speaker->thread, &f->restart);
			continue;
		}
		/* RFC 9494 4.2: without a restart time the long-lived phase begins at once */
		timer_arm(p->speaker->thread, &f->restart,
			brief >> id & 1 ? c->open.restart_time_s * NS_PER_S : 1);
		log_event(LOG_INFO, "restart-wait peer=%s vrf=%s family=%s time=%u",
			p->config.addr_text, p->vrf_name, family_text(id),
			brief >> id & 1 ? c->open.restart_time_s : 0);
	}
	rt_retained(p);
	input_owe_down(p, down);
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

/*
 * RFC 4724 4.2: the new OPEN must list the family with its forwarding state preserved; otherwise
 * the routes are flushed at once.
 */
void
restart_up(struct connection *c)
{
	struct peer *p = c->peer;
	uint8_t kept = short_families(c) & c->open.forwarding_families,
		long_kept = long_lived_families(c) & c->open.long_lived_forwarding;

	for (enum family id = 0; id < FAMILY_COUNT; id++) {
		struct peer_family *f = &p->family[id];

		if (!f->retained)
			continue;
		/* RFC 9494 4.2: in the long-lived phase its own F bit counts */
		if (!((f->long_lived ? long_kept : kept | long_kept) & 1u << id))
			retained_flush(f, "not-kept");
		else if (!f->long_lived)
			timer_arm(p->speaker->thread, &f->restart,
				p->config.timers.stale_refresh_s * NS_PER_S);
	}
}

void
restart_end_of_rib(struct peer_family *f)
{
	f->overdue = false;
	if (f->retained)
		retained_end(f); /* the shard handles the same End-of-RIB */
}

void
restart_forget(struct peer *p)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].retained)
			retained_flush(&p->family[f], "reset");
	}
}

/* RFC 9494 4.2: the restart time is over. */
static void
long_lived_begin(struct peer_family *f) RUNS_ON(role_session)
{
	struct peer *p = f->peer;

	f->long_lived = true;
	timer_arm(p->speaker->thread, &f->restart, f->long_lived_s * NS_PER_S);
	log_event(LOG_INFO, "restart-long-lived peer=%s vrf=%s family=%s time=%u",
		p->config.addr_text, p->vrf_name, family_text(f->family), f->long_lived_s);
	input_owe_long_lived(f);
	input_settle(p->speaker);
}

/* The peer has not returned, or has not sent End-of-RIB. */
static void
restart_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer_family *f = container_of(t, struct peer_family, restart);

	if (!f->retained)
		return;
	if (f->peer->up == NULL && !f->long_lived && f->long_lived_s > 0) {
		long_lived_begin(f);
		return;
	}
	f->overdue = f->peer->up != NULL && f->long_lived;
	retained_flush(f, f->long_lived		? "long-lived-stale-time"
			  : f->peer->up != NULL ? "no-end-of-rib"
						: "restart-time");
	input_settle(f->peer->speaker);
	peer_restart(f->peer);
}

/* ---- restarting role ---- */

void
restart_offer(const struct speaker *s, struct bgp_open_options *o)
{
	o->restart_families = o->families;
	o->restart_time_s = RESTART_TIME_S;
	/* RFC 4724 4.1: the bits of a speaker that has restarted and preserved the state */
	o->restart_state = s->restarting;
	o->forwarding_families = s->config.restarted ? o->families : 0;
}

/*
 * A peer without the capability may send no End-of-RIB: its table ends after a time without UPDATEs, or
 * after a longer time with UPDATEs. The forwarder uses the old tables meanwhile.
 */
#define QUIET_NS (5 * NS_PER_S)
#define QUIET_MOST_NS (30 * NS_PER_S)

static bool
is_quiet(const struct peer *p, uint64_t now)
{
	uint64_t last = p->update_ns != 0 ? p->update_ns : p->established_ns;

	return now - last >= QUIET_NS || now - p->established_ns >= QUIET_MOST_NS;
}

/* The peer has sent the whole table. */
static bool
has_sent_all(const struct peer *p, uint64_t now)
{
	const struct connection *c = p->up;

	if (c->open.restart_state) /* RFC 4724 4.1: the peer restarts, too, and waits for us */
		return true;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(c->n.families & 1u << f) || p->family[f].end_of_rib_received)
			continue;
		if ((p->up_record.end_of_rib & 1u << f) || !is_quiet(p, now))
			return false;
	}
	return true;
}

bool
speaker_restart_complete(struct speaker *s,
	enum speaker_awaited (*awaited)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr),
	void *ctx)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < PEER_MAX; i++) {
		const struct peer *p = s->by_id[i];
		enum speaker_awaited how;

		if (p == NULL || p->config.shutdown || p->config.dynamic)
			continue;
		if (p->up != NULL) {
			if (!has_sent_all(p, now))
				return false;
			continue;
		}
		how = awaited(ctx, p->config.vrf, &p->config.addr);
		if (how != NOT_AWAITED && !links_away(p, how == AWAITED_ON_LINK))
			return false;
	}
	return input_handled(s);
}

bool
speaker_advertises(const struct speaker *s)
{
	return !s->restarting;
}

void
speaker_restart_end(struct speaker *s)
{
	s->restarting = false;
	s->export_all = true;
}

void
speaker_restart_cancel(struct speaker *s)
{
	s->ends = true;
}

/* RFC 4724 4.2: a helper keeps the routes if the session ends without a NOTIFICATION. */
void
restart_leave(struct peer *p)
{
	const struct speaker *s = p->speaker;
	struct connection *c = p->up;

	if (!s->config.restarts || s->ends || c == NULL || !c->open.graceful_restart ||
		!p->config.capabilities.graceful_restart)
		return;
	p->running = false; /* no new attempt */
	connection_event(c, EV_TCP_FAIL, NULL);
}

void
restart_init(struct peer_family *f)
{
	f->restart.fire = restart_fire;
}
