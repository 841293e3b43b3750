/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a peer: performs the actions of fsm_step() (RFC 4271 8.2.2), checks the OPEN,
 * resolves collisions (6.8), and handles up and down.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
peer_error(struct peer *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->last_error, sizeof(p->last_error), fmt, ap);
	va_end(ap);
}

void
peer_cause(struct peer *p, const char *way, const char *text)
{
	p->fall = (struct session_fall){.way = way, .text = text};
}

static void
count_fall(struct peer *p)
{
	struct session_fall cause = p->fall, *at = p->falls;
	const struct session_fall *last = &p->falls[SESSION_FALLS - 1];

	if (cause.text == NULL)
		cause = (struct session_fall){.way = "lost", .text = "other"};
	/* Texts are compared: equal literals of two files can have two addresses. */
	while (at < last && at->text != NULL &&
		(strcmp(at->text, cause.text) != 0 || strcmp(at->way, cause.way) != 0))
		at++;
	if (at == last)
		cause = (struct session_fall){.way = "lost", .text = "other"};
	at->way = cause.way;
	at->text = cause.text;
	at->count++;
	p->fall = (struct session_fall){0};
}

/* The reason for the end of the last session is more useful than a failed connect. */
void
peer_connect_error(struct peer *p, int error)
{
	if (p->last_error[0] == '\0' || strncmp(p->last_error, "connect: ", 9) == 0)
		peer_error(p, "connect: %s", strerrordesc_np(error));
}

enum fsm_state
peer_state(const struct peer *p)
{
	uint8_t out = p->conn[CONN_OUT].state, in = p->conn[CONN_IN].state;

	return out > in ? out : in;
}

uint32_t
peer_local_as(const struct peer *p)
{
	return p->config.local_as != 0 ? p->config.local_as : p->speaker->config.asn;
}

uint8_t
peer_families(const struct config_peer *c)
{
	uint8_t families = 0;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (c->families[f].enabled)
			families |= (uint8_t)(1u << f);
	}
	return families;
}

/* ---- up and down ---- */

static void
report_event(struct peer *p, enum session_event_kind kind)
{
	struct session_event e = {
		.kind = kind, .peer = p->id, .on_link = kind == SESSION_UP && links_on(p)};

	p->speaker->config.event(p->speaker->config.ctx, &e);
}

/* RFC 8212: the operator must see why no routes pass. */
static void
log_no_policy(const struct peer *p, enum family f)
{
	if (!p->config.external)
		return;
	if (!p->policies.has_import[f])
		log_event(LOG_WARNING,
			"no-policy peer=%s vrf=%s family=%s direction=import accepted=none",
			p->config.addr_text, p->vrf_name, family_text(f));
	if (p->policies.export_policy[f] == NULL)
		log_event(LOG_WARNING,
			"no-policy peer=%s vrf=%s family=%s direction=export sent=none",
			p->config.addr_text, p->vrf_name, family_text(f));
}

/* The names of the bits in `families`, separated by commas; returns `buf`. */
static const char *
families_text(unsigned families, char *buf, size_t size)
{
	size_t len = 0;

	for (enum family f = 0; f < FAMILY_COUNT && len < size; f++) {
		if (families & 1u << f)
			len += (size_t)snprintf(
				buf + len, size - len, "%s%s", len > 0 ? "," : "", family_text(f));
	}
	return len > 0 ? buf : "none";
}

static void
peer_established(struct peer *p, struct connection *c) RUNS_ON(role_session)
{
	struct connection *other = connection_other(c);
	char families[96];

	p->up = c;
	ring_insert(&p->speaker->established, &p->established);
	peer_export_due(p);
	p->established_ns = now_ns();
	p->established_count++;
	p->session_number = ++p->speaker->sessions;
	p->fall = (struct session_fall){0};
	p->link_lost = false;
	p->fall_event = 0;
	message_forget(p->speaker, &p->fall_message);
	monitor_changed(p);
	/* reserved by connection_adopt(); the other reservation is for SESSION_UP below */
	p->down_reserved = true;
	c->events = 0;
	timer_cancel(p->speaker->thread, &p->connect_retry);
	timer_cancel(p->speaker->thread, &p->idle_hold);
	if (other->state >= FSM_OPEN_SENT)
		connection_event(other, EV_OPEN_COLLISION, NULL);
	else
		connection_event(other, EV_STOP, NULL);
	log_event(LOG_INFO, "session-up peer=%s vrf=%s asn=%u hold=%u families=%s",
		p->config.addr_text, p->vrf_name, c->open.asn, c->n.hold_time_s,
		families_text(c->n.families, families, sizeof(families)));
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (c->n.families & 1u << f)
			log_no_policy(p, f);
	}
	p->up_record = (struct rib_session_up){.router_id = c->open.identifier,
		.asn = c->open.asn,
		.external = p->config.external,
		.families = c->n.families,
		.refreshes = c->n.route_refresh,
		/*
		 * RFC 4724 4: a speaker with the capability sends End-of-RIB, even if the
		 * capability lists no families.
		 */
		.end_of_rib = c->open.graceful_restart ? c->n.families : 0};
	p->loading_table = true;
	p->update_ns = 0;
	limit_up(p);
	labels_up(c);
	input_owe_up(p);
	restart_up(c);
	input_settle(p->speaker);
	report_event(p, SESSION_UP);
	if (export_up(p) < 0) {
		struct note note = {.code = ERR_CEASE, .subcode = CEASE_OUT_OF_RESOURCES};

		connection_event(c, EV_BAD_MESSAGE, &note);
	}
}

static void
peer_down(struct peer *p, uint8_t retain) RUNS_ON(role_session)
{
	struct connection *c = p->up;
	struct speaker *s = p->speaker;
	char reason[2 * sizeof(p->last_error)];

	/* A session of sufficient length resets the back-off. */
	if (now_ns() - p->established_ns >= IDLE_HOLD_FORGIVEN_S * NS_PER_S)
		p->idle_hold_s = p->config.timers.idle_hold_s;
	p->up = NULL;
	ring_remove(&p->established);
	ring_remove(&p->exports);
	ring_remove(&p->lives);
	p->established_ns = 0;
	count_fall(p);
	monitor_changed(p);
	/* a reason of one word is a name: link-down */
	log_event(LOG_INFO, "session-down peer=%s vrf=%s reason=%s", p->config.addr_text,
		p->vrf_name,
		strpbrk(p->last_error, " \"\\=") == NULL && p->last_error[0] != '\0'
			? p->last_error
			: log_escape(p->last_error, strlen(p->last_error), reason, sizeof(reason)));
	limit_down(p);
	slow_down(p);
	rt_keep(c, retain);
	export_down(p);
	restart_lost(c, retain);
	input_settle(s);
	p->down_reserved = false;
	report_event(p, SESSION_DOWN);
}

/* ---- restart ---- */

static void
idle_hold_grow(struct peer *p)
{
	uint32_t least = p->config.timers.idle_hold_s,
		 max = least > IDLE_HOLD_MAX_S ? least : IDLE_HOLD_MAX_S;

	p->idle_hold_s = p->idle_hold_s * 2 < max ? p->idle_hold_s * 2 : max;
}

static void
idle_hold_start(struct peer *p)
{
	struct speaker *s = p->speaker;

	timer_cancel(s->thread, &p->connect_retry);
	timer_arm(s->thread, &p->idle_hold, p->idle_hold_s * NS_PER_S);
	idle_hold_grow(p);
}

/*
 * While routes are retained, connections of the peer are accepted at once: a refused peer might not
 * retry within its restart time. Only our own attempt waits, at most for the connect retry time.
 */
static void
peer_wait_retained(struct peer *p) RUNS_ON(role_session)
{
	const struct config_timers *t = &p->config.timers;
	uint32_t wait_s = p->idle_hold_s < t->connect_retry_s ? p->idle_hold_s : t->connect_retry_s;

	timer_cancel(p->speaker->thread, &p->idle_hold);
	connection_event(&p->conn[CONN_OUT], EV_START_PASSIVE, NULL);
	if (p->config.passive)
		return;
	timer_arm(p->speaker->thread, &p->connect_retry, wait_s * NS_PER_S);
	idle_hold_grow(p);
}

static void
peer_begin(struct peer *p) RUNS_ON(role_session)
{
	connection_event(&p->conn[CONN_OUT], p->config.passive ? EV_START_PASSIVE : EV_START, NULL);
}

bool
peer_in_idle_hold(const struct peer *p)
{
	return p->idle_hold.deadline_ns != 0;
}

void
peer_gone(struct peer *p)
{
	p->running = false;
	p->gone = true;
	timer_cancel(p->speaker->thread, &p->connect_retry);
	timer_cancel(p->speaker->thread, &p->idle_hold);
	connection_event(&p->conn[CONN_OUT], EV_STOP, NULL);
	if (p->gone_reserved)
		report_event(p, SESSION_DYNAMIC_GONE);
	p->gone_reserved = false;
}

/*
 * Called when no timer is armed: begins idle hold, then a new attempt. A dynamic session is removed
 * instead; the peer returns as a new session.
 */
void
peer_restart(struct peer *p)
{
	struct connection *out = &p->conn[CONN_OUT];
	bool at_once = p->again_at_once;

	if (!p->running || p->up != NULL || p->conn[CONN_IN].state != FSM_IDLE)
		return;
	if (p->config.dynamic && p->came && !restart_waits(p)) {
		peer_gone(p);
		return;
	}
	if (out->state != FSM_IDLE)
		return;
	p->again_at_once = false;
	if (restart_waits(p)) {
		peer_wait_retained(p);
	} else if (at_once) {
		p->idle_hold_s = p->config.timers.idle_hold_s;
		peer_begin(p);
	} else if (!peer_in_idle_hold(p)) {
		idle_hold_start(p);
	}
}

void
peer_link_down(struct connection *c, bool was_up)
{
	struct peer *p = c->peer;

	/* over a link that was down from the begin the next attempt waits, as after other failures */
	p->again_at_once = was_up;
	p->link_lost = true;
	if (p->up == c) {
		peer_error(p, "link-down");
		peer_cause(p, "lost", "link-down");
		p->fall_event = 18; /* TcpConnectionFails */
	}
	connection_event(c, EV_LINK_DOWN, NULL);
}

void
peer_link_back(struct peer *p)
{
	struct connection *out = &p->conn[CONN_OUT];

	p->link_lost = false;
	if (p->running && p->conn[CONN_IN].state == FSM_IDLE &&
		(out->state == FSM_CONNECT || out->state == FSM_ACTIVE))
		connection_event(out, EV_CONNECT_RETRY_TIMER, NULL);
}

static void
idle_hold_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer *p = container_of(t, struct peer, idle_hold);

	if (p->running && p->up == NULL)
		peer_begin(p);
}

/* Only wakes the loop, which handles the waiting OPEN. */
static void
collision_fire(struct timer *t)
{
	(void)t;
}

static void
connect_retry_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer *p = container_of(t, struct peer, connect_retry);
	struct speaker *s = p->speaker;

	/* A connection of the peer is open: our own would collide. */
	if (p->conn[CONN_IN].state >= FSM_OPEN_SENT) {
		timer_arm(s->thread, t,
			speaker_jitter(s, p->config.timers.connect_retry_s * NS_PER_S, 25, 25));
		return;
	}
	/* No answer: the peer is down, or a wrong password or GTSM drops the segments. */
	if (p->conn[CONN_OUT].connecting)
		peer_connect_error(p, ETIMEDOUT);
	connection_event(&p->conn[CONN_OUT], EV_CONNECT_RETRY_TIMER, NULL);
}

/* ---- actions ---- */

static void
send_open(struct connection *c) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	const struct config_peer *k = &p->config;
	size_t room, len;
	uint8_t *tail = connection_tail(c, BGP_MSG_MAX, &room);
	struct bgp_open_options o = {
		.asn = peer_local_as(p),
		.identifier = p->speaker->config.router_id,
		.hold_time_s = (uint16_t)k->timers.hold_s,
		.families = peer_families(k),
		.rt_constraint = k->rt_constraint,
		.route_refresh = k->capabilities.route_refresh,
		.enhanced_route_refresh = k->capabilities.enhanced_route_refresh,
		.extended_message = k->capabilities.extended_message,
		.four_octet_as = k->capabilities.four_octet_as,
		.graceful_restart = k->capabilities.graceful_restart,
		.restart_notification =
			k->capabilities.graceful_restart && !p->speaker->config.restarts,
		.long_lived = k->timers.long_lived_stale_time > 0,
		.role = k->role,
		.extended_next_hop = k->capabilities.extended_next_hop ? peer_families(k) : 0,
	};

	if (k->capabilities.graceful_restart && p->speaker->config.restarts)
		restart_offer(p->speaker, &o);
	if (tail == NULL)
		return;
	len = bgp_open_encode(&o, tail, BGP_MSG_MAX);
	message_keep(p->speaker, &c->open_sent, tail, len);
	connection_wrote(c, len, 1);
	connection_flush(c);
}

static void
send_notification(struct connection *c, const struct fsm_result *r, const struct note *lent)
	RUNS_ON(role_session)
{
	struct note note = {.code = ERR_CEASE};

	if (lent != NULL)
		note = *lent;
	if (r->code != 0)
		note = (struct note){.code = r->code, .subcode = r->subcode};
	/* The session survives a collision: no error to record. */
	if (note.code != ERR_CEASE || note.subcode != CEASE_COLLISION)
		peer_error(c->peer, "sent %s", bgp_notification_text(note.code, note.subcode));
	if (c->peer->up == c)
		peer_cause(c->peer, "sent", bgp_notification_text(note.code, note.subcode));
	connection_notify(c, &note);
}

/* Performs the actions that precede the close of the connection. */
static void
perform_close(struct connection *c, const struct fsm_result *r, enum fsm_event event,
	const struct note *note) RUNS_ON(role_session)
{
	struct peer *p = c->peer;

	if (r->actions & ACT_SEND_NOTIFICATION)
		send_notification(c, r, note);
	if (r->actions & ACT_STOP_TIMERS)
		connection_stop_timers(c);
	if ((r->actions & ACT_DOWN) && p->up == c)
		peer_down(p, restart_retain(c, event, note));
	if (r->actions & ACT_CLOSE)
		connection_close(c);
}

/* Performs connect and the connect retry timer, for the outgoing connection only. */
static int
perform_connect(struct connection *c, const struct fsm_result *r) RUNS_ON(role_session)
{
	struct speaker *s = c->peer->speaker;
	struct timer *retry = &c->peer->connect_retry;
	int err = 0;

	if (!c->outgoing)
		return 0;
	if (r->actions & ACT_CONNECT_RETRY_STOP)
		timer_cancel(s->thread, retry);
	if (r->actions & ACT_CONNECT_RETRY_START)
		timer_arm(s->thread, retry,
			speaker_jitter(
				s, c->peer->config.timers.connect_retry_s * NS_PER_S, 25, 25));
	if (r->actions & ACT_CONNECT)
		err = connection_connect(c);
	if (err < 0)
		peer_connect_error(c->peer, -err);
	return err;
}

static void
perform_messages(struct connection *c, const struct fsm_result *r) RUNS_ON(role_session)
{
	if (r->actions & ACT_SEND_OPEN)
		send_open(c);
	if (r->actions & ACT_SEND_KEEPALIVE)
		connection_keepalive(c);
	if (r->actions & ACT_HOLD_START_OPEN)
		connection_hold(c, c->peer->config.timers.open_sent_hold_s * NS_PER_S);
	if (r->actions & ACT_HOLD_START)
		connection_hold(c, c->n.hold_time_s * NS_PER_S);
	if (r->actions & ACT_KEEPALIVE_START)
		connection_keepalive_start(c);
}

void
connection_event(struct connection *c, enum fsm_event event, const struct note *note)
{
	struct peer *p = c->peer;
	struct connection *other = connection_other(c);
	struct fsm_result r = fsm_step(c->state, event, p->config.passive || !c->outgoing);

	/* An incoming connection never waits in Connect or Active. */
	if (!c->outgoing && r.state < FSM_OPEN_SENT)
		r.state = FSM_IDLE;
	if (r.state != c->state && other->deferred_ns != 0)
		thread_wake(p->speaker->thread); /* the waiting OPEN may depend on this state */
	c->state = r.state;
	mrt_state(c);
	perform_close(c, &r, event, note);
	if (perform_connect(c, &r) < 0) {
		connection_event(c, EV_TCP_FAIL, NULL);
		return;
	}
	perform_messages(c, &r);
	if (r.actions & ACT_ESTABLISHED)
		peer_established(p, c);
	if ((r.actions & ACT_IDLE_HOLD) && other->state != FSM_IDLE && other->state < FSM_OPEN_SENT)
		connection_event(other, EV_STOP, NULL);
	peer_restart(p);
}

/* ---- OPEN ---- */

static void
open_refuse(struct connection *c, const struct bgp_error *e) RUNS_ON(role_session)
{
	struct note note = {
		.code = e->code, .subcode = e->subcode, .data = e->data, .data_len = e->data_len};

	connection_event(c, EV_BAD_MESSAGE, &note);
}

/* Stores the capabilities that both sides support. False: no common family. */
static bool
negotiate(struct connection *c, const struct bgp_open *o)
{
	const struct config_peer *k = &c->peer->config;
	/* RFC 4760 8 */
	uint8_t theirs = o->multiprotocol ? o->families : 1u << FAMILY_IPV4_UNICAST;
	uint16_t hold = (uint16_t)k->timers.hold_s;

	c->open = *o;
	c->open.raw_count = 0; /* raw[] points into the receive buffer */
	c->n = (struct negotiated){
		.as4 = o->four_octet_as && k->capabilities.four_octet_as,
		.extended_message = o->extended_message && k->capabilities.extended_message,
		.route_refresh = o->route_refresh && k->capabilities.route_refresh,
		.enhanced_route_refresh =
			o->enhanced_route_refresh && k->capabilities.enhanced_route_refresh,
		.families = theirs & peer_families(k),
		.extended_next_hop = k->capabilities.extended_next_hop ? o->extended_next_hop : 0,
		.hold_time_s = o->hold_time_s < hold ? o->hold_time_s : hold,
	};
	c->n.rt_constraint = o->rt_constraint && k->rt_constraint && c->n.families & VPN_FAMILIES;
	return c->n.families != 0;
}

/* RFC 5492 3, 5: the NOTIFICATION lists the missing families. */
static void
families_refuse(struct connection *c) RUNS_ON(role_session)
{
	uint8_t missing[FAMILY_COUNT * 6];
	struct bgp_error e = {.severity = SESSION_RESET,
		.code = ERR_OPEN,
		.subcode = OPEN_UNSUPPORTED_CAPABILITY,
		.data = missing};

	e.data_len = (uint16_t)bgp_families_encode(
		peer_families(&c->peer->config), missing, sizeof(missing));
	open_refuse(c, &e);
}

/* Takes the AS number from the OPEN, for a peer from a range without an AS number. */
static void
take_as_from_open(struct connection *c, uint32_t asn) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct host_socket_options o;

	p->config.asn = asn;
	p->config.external = asn != p->speaker->config.asn;
	o = peer_socket(p); /* an internal peer may be several hops away */
	host_socket_apply(c->watch.fd, &o, &p->config.addr);
}

static bool
collision_keeps_ours(const struct peer *p, const struct bgp_open *o)
{
	return fsm_collision_keep_ours(
		p->speaker->config.router_id, peer_local_as(p), o->identifier, o->asn);
}

/*
 * RFC 4271 6.8: both connections are open. The received OPEN shows that the second connection will
 * win as soon as the OPEN arrives there. A KEEPALIVE on the losing connection now would make the
 * session Established at the peer, and the KEEPALIVE of the peer here; then each side could close
 * the connection that the other side keeps. (Seen with BIRD 2 and FRR 8.4: both connections were
 * closed.)
 */
static bool
collision_defers(struct connection *c, const struct bgp_open *o) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct connection *other = connection_other(c);
	uint64_t now = now_ns();

	if (other->state != FSM_OPEN_SENT || collision_keeps_ours(p, o) != other->outgoing)
		return false;
	if (c->deferred_ns == 0) {
		c->deferred_ns = now;
		timer_arm(p->speaker->thread, &p->collision, COLLISION_NS);
	}
	return now - c->deferred_ns < COLLISION_NS;
}

/*
 * True if the connection has sent and received its OPEN, and the KEEPALIVE of the peer is on its way. A
 * second connection then gets no OPEN: for the peer the first connection may still be in OpenConfirm,
 * and an OPEN on the second connection would make the peer close the first by identifiers, while the
 * first is Established here. (Seen with BIRD 2, which then dropped its stale routes.)
 */
bool
connection_confirms(const struct connection *c)
{
	return c->state == FSM_OPEN_CONFIRM && now_ns() - c->last_message_ns < COLLISION_NS;
}

/* RFC 4271 6.8. False: this connection was closed. */
static bool
collision_survived(struct connection *c) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct connection *other = connection_other(c);
	bool ours;

	if (other->state == FSM_ESTABLISHED) {
		connection_event(c, EV_OPEN_COLLISION, NULL);
		return false;
	}
	if (other->state != FSM_OPEN_CONFIRM)
		return true;
	ours = collision_keeps_ours(p, &c->open);
	if (ours == c->outgoing) {
		connection_event(other, EV_OPEN_COLLISION, NULL);
		return true;
	}
	connection_event(c, EV_OPEN_COLLISION, NULL);
	return false;
}

bool
connection_open_received(struct connection *c, const uint8_t *msg, size_t len)
{
	struct peer *p = c->peer;
	struct bgp_error e;
	struct bgp_open o;

	if (c->state != FSM_OPEN_SENT) {
		connection_event(c, EV_OPEN, NULL); /* fsm_step() determines the error */
		return true;
	}
	e = bgp_open_decode(msg, len, &o);
	if (e.severity == BGP_OK)
		e = bgp_open_check(&o, p->as_from_open ? 0 : p->config.asn, peer_local_as(p),
			p->speaker->config.router_id);
	if (e.severity == BGP_OK)
		e = bgp_role_check(&o, (enum session_role)p->config.role, p->config.role_strict);
	if (e.severity != BGP_OK) {
		peer_fault_message(p, &e, msg, len);
		open_refuse(c, &e);
		return true;
	}
	if (collision_defers(c, &o))
		return false;
	if (p->as_from_open)
		take_as_from_open(c, o.asn);
	message_keep(p->speaker, &c->open_received, msg, len);
	if (!negotiate(c, &o)) {
		families_refuse(c);
		return true;
	}
	if (collision_survived(c))
		connection_event(c, EV_OPEN, NULL);
	return true;
}

/* ---- lifetime ---- */

void
peer_init(struct peer *p)
{
	for (unsigned i = 0; i < CONN_COUNT; i++) {
		p->conn[i].peer = p;
		p->conn[i].outgoing = i == CONN_OUT;
		p->conn[i].watch.fd = -1;
		connection_timers_init(&p->conn[i]);
	}
	p->connect_retry.fire = connect_retry_fire;
	p->idle_hold.fire = idle_hold_fire;
	p->collision.fire = collision_fire;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		p->family[f].peer = p;
		p->family[f].family = f;
		export_timers_init(&p->family[f]);
		restart_init(&p->family[f]);
	}
	rt_init(p);
	limit_init(p);
}

void
peer_timers_end(struct peer *p)
{
	struct thread *t = p->speaker->thread;

	timer_cancel(t, &p->connect_retry);
	timer_cancel(t, &p->idle_hold);
	timer_cancel(t, &p->collision);
	timer_cancel(t, &p->limit_restart);
	timer_cancel(t, &p->rt.wait);
	for (unsigned i = 0; i < CONN_COUNT; i++)
		connection_stop_timers(&p->conn[i]);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		timer_cancel(t, &p->family[f].stale);
		timer_cancel(t, &p->family[f].answer);
		timer_cancel(t, &p->family[f].spread);
		timer_cancel(t, &p->family[f].restart);
	}
	peer_faults_stop(p);
}

void
peer_start(struct peer *p)
{
	if (p->running || p->gone)
		return;
	p->held = false;
	/* The peer must connect again: there is nothing to wait for. */
	if (p->config.dynamic && p->came) {
		peer_gone(p);
		return;
	}
	p->running = true;
	p->again_at_once = false;
	p->idle_hold_s = p->config.timers.idle_hold_s;
	peer_begin(p);
}

void
peer_stop(struct peer *p, const struct note *note)
{
	p->running = false;
	timer_cancel(p->speaker->thread, &p->connect_retry);
	timer_cancel(p->speaker->thread, &p->idle_hold);
	timer_cancel(p->speaker->thread, &p->collision);
	timer_cancel(p->speaker->thread, &p->limit_restart);
	connection_event(&p->conn[CONN_IN], EV_STOP, note);
	connection_event(&p->conn[CONN_OUT], EV_STOP, note);
	restart_forget(p);
	input_settle(p->speaker);
}

/*
 * Restarts the attempt in Connect and Active. In all other states the next attempt uses the new
 * setting.
 */
void
peer_passive_changed(struct peer *p)
{
	struct connection *out = &p->conn[CONN_OUT];

	if (!p->running || p->up != NULL || (out->state != FSM_CONNECT && out->state != FSM_ACTIVE))
		return;
	p->running = false; /* no idle hold: there was no error */
	timer_cancel(p->speaker->thread, &p->connect_retry);
	connection_event(out, EV_STOP, NULL);
	p->running = true;
	peer_begin(p);
}

/*
 * A second connection within this time after session-up is the loser of a collision (RFC 4271 6.8);
 * the peer will close the connection.
 */
#define COLLISION_OVER_NS NS_PER_S

/*
 * RFC 4724 5: a restarting peer may connect before we have noticed the end of the old connection.
 * False while octets of the old connection wait: they may contain a NOTIFICATION.
 */
static bool
peer_is_back(struct peer *p) RUNS_ON(role_session)
{
	if (restart_families(p->up) == 0 || !connection_silent(p->up) ||
		now_ns() - p->established_ns < COLLISION_OVER_NS)
		return false;
	peer_error(p, "the peer opened a new connection");
	peer_cause(p, "lost", "new-connection");
	connection_event(p->up, EV_TCP_FAIL, NULL);
	return true;
}

/*
 * RFC 4271 6.8: while a session is established, a new connection is closed; in Idle all connections
 * are refused.
 */
void
peer_accept(struct peer *p, int fd)
{
	struct connection *in = &p->conn[CONN_IN];
	struct host_socket_options o = peer_socket(p);
	int err;

	if (p->up != NULL && !peer_is_back(p)) {
		refuse(fd, ERR_CEASE, CEASE_COLLISION);
		return;
	}
	if (connection_confirms(&p->conn[CONN_OUT])) {
		refuse(fd, ERR_CEASE, CEASE_COLLISION);
		return;
	}
	if (!p->running || p->conn[CONN_OUT].state == FSM_IDLE || in->state > FSM_OPEN_SENT) {
		close(fd);
		return;
	}
	err = host_socket_apply(fd, &o, &p->config.addr);
	if (err < 0) {
		log_event(LOG_WARNING, "connection-refused peer=%s vrf=%s error=\"%s\"",
			p->config.addr_text, p->vrf_name,
			err == -EPROTO ? "TTL below the minimum of gtsm" : strerrordesc_np(-err));
		if (err == -EPROTO && p->last_error[0] == '\0')
			peer_error(p, "a connection came from too far away: its TTL is below the "
				      "minimum of gtsm");
		close(fd);
		return;
	}
	/* The peer connected again, so the earlier connection is dead at the peer. */
	p->came = false;
	if (in->state == FSM_OPEN_SENT)
		connection_event(in, EV_TCP_FAIL, NULL);
	p->came = true;
	if (connection_adopt(in, fd) < 0) {
		peer_restart(p);
		return;
	}
	in->state = FSM_ACTIVE;
	connection_event(in, EV_TCP_OPEN, NULL);
}
