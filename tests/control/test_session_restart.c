/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helper side of graceful restart, RFC 4724 4.2 and RFC 8538: each kind of session end, and each
 * kind of retention end.
 */
#include "control/session/session.h"

#include "tests/control/moved_clock.h"
#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST
#define ONE 0x0a000000u
#define TWO 0x0b000000u
#define THREE 0x0c000000u

struct rig {
	struct node n;
	struct script s;
	struct bgp_open_options o;
	union script_attrs a;
};

static void
established(struct rig *r)
{
	script_establish(&r->s, &r->n, 2, &r->o);
	wait_for(node_view(&r->n, 1).state == FSM_ESTABLISHED);
}

static void
announce(struct rig *r, uint32_t addr)
{
	script_send_update(&r->s, &r->a.a, addr, 1);
	wait_for(node_paths(&r->n, addr, 24) == 1);
}

/*
 * A restarting peer with restart time `time`: established, two routes and End-of-RIB sent. Stale
 * routes stay for `stale_s`.
 */
static void
begin_stale(struct rig *r, uint16_t time, bool notification, uint16_t stale_s)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);

	c.timers.stale_refresh_s = stale_s;
	memset(r, 0, sizeof(*r));
	node_begin(&r->n, OWN_AS, OWN_ID);
	node_peer(&r->n, 1, &c, policy_accept_all());
	r->o = script_open(PEER_AS, PEER_ID);
	r->o.restart_time_s = time;
	r->o.restart_notification = notification;
	r->o.restart_families = r->o.forwarding_families = 1u << V4;
	script_attrs(&r->a, PEER_AS, NEXT_HOP);
	established(r);
	announce(r, ONE);
	announce(r, TWO);
	script_send_end_of_rib(&r->s, V4);
	wait_for(node_view(&r->n, 1).families[V4].end_of_rib_received);
}

static void
begin(struct rig *r, uint16_t time, bool notification)
{
	begin_stale(r, time, notification, 600);
}

static void
gone(struct rig *r)
{
	wait_for(node_view(&r->n, 1).state != FSM_ESTABLISHED);
}

/* No UPDATE handed over so far sweeps a route. */
static void
expect_retained(struct rig *r)
{
	gone(r);
	assert_true(node_view(&r->n, 1).families[V4].retained);
	for (unsigned i = 0; i < 10; i++)
		breathe();
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	assert_int_equal(node_paths(&r->n, TWO, 24), 1);
}

static void
expect_flushed(struct rig *r)
{
	wait_for(node_paths(&r->n, ONE, 24) == 0 && node_paths(&r->n, TWO, 24) == 0);
	assert_false(node_view(&r->n, 1).families[V4].retained);
}

static void
end(struct rig *r)
{
	script_close(&r->s);
	node_end(&r->n);
}

/* Established, then cut, with routes retained. */
static void
lost(struct rig *r)
{
	begin(r, 60, false);
	script_close(&r->s);
	expect_retained(r);
}

/* Established again, without UPDATEs. */
static void
back(struct rig *r)
{
	lost(r);
	established(r);
}

static struct rig rig;

/*
 * The connection is cut; the peer returns, announces one of two routes again, and sends End-of-RIB.
 */
static void
test_restart(void **state)
{
	struct rig *r = &rig;
	struct session_view v;

	begin(r, 60, false);
	v = node_view(&r->n, 1);
	assert_true(v.families[V4].graceful_restart && v.families[V4].forwarding_kept);
	assert_false(v.families[V4].retained);
	assert_int_equal(v.restart_time_s, 60);
	assert_false(v.restart_notification.negotiated);
	script_close(&r->s);
	expect_retained(r);
	r->o.restart_state = true;
	established(r);
	/* RFC 7313 4: a refresh must wait for End-of-RIB. */
	script_send_refresh(&r->s, REFRESH_BEGIN);
	script_send_refresh(&r->s, REFRESH_END);
	announce(r, ONE);
	wait_for(node_view(&r->n, 1).updates_received == 4);
	assert_int_equal(node_paths(&r->n, TWO, 24), 1);
	assert_true(node_view(&r->n, 1).families[V4].retained);
	script_send_end_of_rib(&r->s, V4);
	wait_for(node_paths(&r->n, TWO, 24) == 0);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	assert_false(node_view(&r->n, 1).families[V4].retained);
	/* A second restart works the same. */
	announce(r, TWO);
	script_close(&r->s);
	expect_retained(r);
	established(r);
	script_send_end_of_rib(&r->s, V4);
	expect_flushed(r);
	end(r);
}

static void
test_restart_time(void **state)
{
	struct rig *r = &rig;

	begin(r, 3, false);
	script_close(&r->s);
	expect_retained(r);
	expect_flushed(r);
	end(r);
}

/* The peer returns and stays silent: the stale timer (here 3 s). */
static void
test_no_end_of_rib(void **state)
{
	struct rig *r = &rig;

	begin_stale(r, 60, false, 3);
	script_close(&r->s);
	expect_retained(r);
	established(r);
	announce(r, ONE);
	assert_int_equal(node_paths(&r->n, TWO, 24), 1);
	wait_for(node_paths(&r->n, TWO, 24) == 0);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	assert_int_equal(node_view(&r->n, 1).state, FSM_ESTABLISHED);
	end(r);
}

/*
 * The peer returns without its forwarding state, without the family, without the capability: all
 * routes are removed at once.
 */
static void
test_not_kept(void **state)
{
	struct rig *r = &rig;

	for (unsigned i = 0; i < 3; i++) {
		lost(r);
		r->o.forwarding_families = 0;
		if (i > 0)
			r->o.restart_families = 0;
		if (i > 1)
			r->o.graceful_restart = false;
		established(r);
		expect_flushed(r);
		end(r);
	}
}

/*
 * RFC 7313 4: BoRR counts after End-of-RIB, also when no route is retained. Shard and session
 * agree.
 */
static void
test_refresh_not_kept(void **state)
{
	struct rig *r = &rig;
	struct adj_rib_in_counts c;

	lost(r);
	r->o.forwarding_families = 0;
	established(r);
	expect_flushed(r);
	announce(r, ONE);
	script_send_refresh(&r->s, REFRESH_BEGIN);
	script_send_refresh(&r->s, REFRESH_END);
	announce(r, TWO);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	shards_peer_counts(&r->n.shards, (struct peer_id){1}, V4, &c);
	assert_int_equal(c.borr_ignored, 1);
	assert_int_equal(c.eorr_ignored, 1);
	script_send_end_of_rib(&r->s, V4);
	script_send_refresh(&r->s, REFRESH_BEGIN);
	script_send_refresh(&r->s, REFRESH_END);
	expect_flushed(r);
	end(r);
}

/* RFC 4724 4.2: a stale route is not retained a second time. */
static void
test_twice(void **state)
{
	struct rig *r = &rig;

	back(r);
	announce(r, ONE);
	wait_for(node_view(&r->n, 1).updates_received == 4);
	script_close(&r->s);
	wait_for(node_paths(&r->n, TWO, 24) == 0);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	assert_true(node_view(&r->n, 1).families[V4].retained);
	end(r);
}

/* Without the capability, or with no family in the capability, no route is retained. */
static void
test_no_capability(void **state)
{
	struct rig *r = &rig;

	for (unsigned i = 0; i < 2; i++) {
		begin(r, 60, true);
		script_close(&r->s);
		expect_retained(r);
		r->o.restart_families = 0;
		r->o.graceful_restart = i == 0;
		established(r);
		announce(r, ONE);
		announce(r, TWO);
		script_close(&r->s);
		expect_flushed(r);
		end(r);
	}
}

/*
 * RFC 8538: a NOTIFICATION ends retention, unless both sides have the N bit and the NOTIFICATION is
 * no Hard Reset.
 */
static void
test_notification(void **state)
{
	static const char hard[] = "\x06\x04\x07until 9";
	struct rig *r = &rig;

	begin(r, 60, false);
	script_send_notification(&r->s, ERR_CEASE, CEASE_ADMIN_RESET, NULL, 0);
	expect_flushed(r);
	end(r);

	begin(r, 60, true);
	assert_true(node_view(&r->n, 1).restart_notification.negotiated);
	script_send_notification(&r->s, ERR_CEASE, CEASE_ADMIN_RESET, NULL, 0);
	expect_retained(r);
	script_close(&r->s);
	established(r);
	script_send_notification(&r->s, ERR_CEASE, CEASE_HARD_RESET, hard, sizeof(hard) - 1);
	expect_flushed(r);
	assert_string_equal(node_view(&r->n, 1).last_error,
		"received hard reset, cease/administrative-reset: \"until 9\"");
	end(r);
}

/* NOTIFICATIONs sent by keeld: after a faulty message, and after silence of the peer. */
static void
test_notification_sent(void **state)
{
	static const uint8_t bad[BGP_HEADER_LEN] = {0};
	struct rig *r = &rig;

	for (unsigned notification = 0; notification < 2; notification++) {
		begin(r, 60, notification);
		script_send(&r->s, bad, sizeof(bad));
		script_expect_notification(&r->s, ERR_HEADER, HEADER_NOT_SYNCHRONIZED);
		if (notification)
			expect_retained(r);
		else
			expect_flushed(r);
		end(r);
	}
	begin(r, 60, true);
	script_close(&r->s);
	expect_retained(r);
	r->o.hold_time_s = 3;
	established(r);
	announce(r, ONE);
	announce(r, TWO);
	script_expect_notification(&r->s, ERR_HOLD_TIMER, 0);
	expect_retained(r);
	end(r);
}

/*
 * The operator's reset removes all routes, with the session up or retained; so does the removal of
 * the peer.
 */
static void
test_operator(void **state)
{
	struct rig *r = &rig;
	struct node_call call = {.n = &r->n, .id = {1}};

	begin(r, 60, true);
	thread_call(r->n.session, call_reset, &call);
	assert_true(call.result);
	script_expect_notification(&r->s, ERR_CEASE, CEASE_ADMIN_RESET);
	expect_flushed(r);
	script_close(&r->s);

	established(r);
	announce(r, ONE);
	announce(r, TWO);
	script_close(&r->s);
	expect_retained(r);
	thread_call(r->n.session, call_reset, &call);
	assert_true(call.result);
	expect_flushed(r);
	thread_call(r->n.session, call_reset, &call);
	assert_false(call.result);

	established(r);
	announce(r, ONE);
	announce(r, TWO);
	script_close(&r->s);
	expect_retained(r);
	thread_call(r->n.session, call_remove, &call);
	wait_for(node_paths(&r->n, ONE, 24) == 0 && node_paths(&r->n, TWO, 24) == 0);
	do {
		breathe();
		thread_call(r->n.session, call_gone, &call);
	} while (!call.result);
	node_end(&r->n);
}

/* RFC 4724 5: the peer restarted before the old connection was noticed as lost. */
static void
test_back_unnoticed(void **state)
{
	static struct script again;
	struct rig *r = &rig;

	begin(r, 60, false);
	/* This early the connection is a late collision. */
	script_connect(&again, &r->n, 2, 0);
	script_read(&again, WAIT_MS);
	if (now_ns() - node_view(&r->n, 1).established_ns > 900000000u) {
		/* On a slow machine the connection may have been early or late. */
		script_close(&again);
		end(r);
		begin(r, 60, false);
	} else {
		assert_int_equal(again.type, BGP_NOTIFICATION);
		assert_int_equal(again.buf[BGP_HEADER_LEN], ERR_CEASE);
		assert_int_equal(again.buf[BGP_HEADER_LEN + 1], CEASE_COLLISION);
		script_close(&again);
	}
	assert_int_equal(node_view(&r->n, 1).established_count, 1);
	for (uint64_t until = now_ns() + 1000000000u; now_ns() < until;)
		breathe();
	script_connect(&again, &r->n, 2, 0);
	assert_non_null(script_read(&again, WAIT_MS));
	assert_int_equal(again.type, BGP_OPEN);
	/* The old connection ends without a NOTIFICATION. */
	while (script_read(&r->s, WAIT_MS) != NULL)
		assert_int_not_equal(r->s.type, BGP_NOTIFICATION);
	expect_retained(r);
	script_send_open(&again, &r->o);
	assert_non_null(script_read(&again, WAIT_MS));
	script_send_keepalive(&again);
	wait_for(node_view(&r->n, 1).state == FSM_ESTABLISHED);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	script_close(&again);
	end(r);
}

/*
 * The shard stands still while three sessions end. The end of a session before End-of-RIB flushes
 * the stale routes of earlier sessions (RFC 4724 4.2), so only routes of the last session stay.
 */
static void
test_shard_behind(void **state)
{
	struct rig *r = &rig;

	begin(r, 60, false);
	atomic_store(&r->n.paused, true);
	for (unsigned i = 0; i < 3; i++) {
		script_close(&r->s);
		gone(r);
		established(r);
	}
	assert_true(node_view(&r->n, 1).families[V4].retained);
	atomic_store(&r->n.paused, false);
	thread_wake(r->n.rib[0]);
	/*
	 * A route ONE may be left from the first session. THREE comes after the update of ONE: when
	 * the RIB has THREE, the shard has handled the update.
	 */
	script_send_update(&r->s, &r->a.a, ONE, 1);
	script_send_end_of_rib(&r->s, V4);
	announce(r, THREE);
	wait_for(node_paths(&r->n, TWO, 24) == 0);
	assert_int_equal(node_paths(&r->n, ONE, 24), 1);
	assert_int_equal(shard_failures(r->n.shard), 0);
	end(r);
}

/* ---- every order of events, with a clock that the test moves ---- */

#define RESTART_TIME_S 100u
#define END_OF_RIB_S 300u
#define LONG_LIVED_S 1000u

/* Capability 71 (RFC 9494 3.1) at the end of our OPEN: IPv4 unicast with the F bit. */
static void
open_long_lived(struct rig *r)
{
	static const uint8_t capability[] = {
		71, 7, 0, 1, 1, 0x80, 0, LONG_LIVED_S >> 8, LONG_LIVED_S & 0xff};
	uint8_t msg[BGP_MSG_MAX];
	size_t len = bgp_open_encode(&r->o, msg, sizeof(msg));

	memcpy(msg + len, capability, sizeof(capability));
	len += sizeof(capability);
	msg[17] = (uint8_t)len;
	msg[28] = (uint8_t)(msg[28] + sizeof(capability)); /* the parameters, and the first one */
	msg[30] = (uint8_t)(msg[30] + sizeof(capability));
	script_greet(&r->s, &r->n, 2);
	script_send(&r->s, msg, len);
	assert_non_null(script_read(&r->s, WAIT_MS));
	assert_int_equal(r->s.type, BGP_KEEPALIVE);
	script_send_keepalive(&r->s);
	wait_for(node_view(&r->n, 1).state == FSM_ESTABLISHED);
}

enum event { LOST, BACK, AGAIN, DONE, RESTART_TIME, LONG_LIVED, EVENTS };

static const char *const event_text[] = {
	"lost", "back", "an UPDATE", "End-of-RIB", "the restart time", "the long-lived time"};

/* RFC 4724 4.2 and RFC 9494 4.2, for routes ONE and TWO. */
struct model {
	enum phase { NO_PHASE, SHORT, LONG } phase; /* routes of an earlier session are retained */
	bool up, overdue;
	uint64_t now, end; /* seconds; of the phase, or of the wait for End-of-RIB */
	struct model_route {
		bool there, stale, marked;
	} route[2];
};

static void
model_sweep(struct model *m, bool all)
{
	for (unsigned i = 0; i < 2; i++)
		if (all || m->route[i].stale)
			m->route[i] = (struct model_route){0};
}

static void
model_lost(struct model *m)
{
	m->up = false;
	if (m->phase != LONG)
		model_sweep(m, m->overdue);
	if (m->overdue)
		m->phase = NO_PHASE;
	else if (m->phase != LONG) {
		m->phase = SHORT;
		m->end = m->now + RESTART_TIME_S;
	}
	m->overdue = false;
	for (unsigned i = 0; i < 2; i++) {
		m->route[i].stale = m->route[i].there;
		m->route[i].marked = m->route[i].there && m->phase == LONG;
	}
}

static void
model_passes(struct model *m, unsigned seconds)
{
	m->now += seconds;
	if (m->phase == NO_PHASE || m->now < m->end)
		return;
	if (m->phase == SHORT && !m->up) {
		m->phase = LONG;
		m->end = m->now + LONG_LIVED_S;
		for (unsigned i = 0; i < 2; i++)
			m->route[i].marked = m->route[i].there;
		return;
	}
	m->overdue = m->up && m->phase == LONG;
	model_sweep(m, false);
	m->phase = NO_PHASE;
}

/* False: the event cannot happen, or changes nothing. */
static bool
model_event(struct model *m, enum event e)
{
	if (m->up == (e == BACK) && e < RESTART_TIME)
		return false;
	if (e >= RESTART_TIME) {
		if (m->phase == NO_PHASE)
			return false;
		model_passes(m, e == RESTART_TIME ? RESTART_TIME_S + 50 : LONG_LIVED_S + 50);
	} else if (e == LOST) {
		model_lost(m);
	} else if (e == BACK) {
		m->up = true;
		if (m->phase == SHORT)
			m->end = m->now + END_OF_RIB_S;
	} else if (e == AGAIN) {
		m->route[0] = (struct model_route){.there = true};
	} else {
		model_sweep(m, false);
		m->phase = NO_PHASE;
		m->overdue = false;
	}
	return true;
}

static void
event_make(struct rig *r, enum event e)
{
	uint64_t updates = node_view(&r->n, 1).updates_received;

	if (e == LOST) {
		script_close(&r->s);
		gone(r);
	} else if (e == BACK) {
		open_long_lived(r);
	} else if (e == AGAIN) {
		script_send_update(&r->s, &r->a.a, ONE, 1);
		wait_for(node_view(&r->n, 1).updates_received > updates);
	} else if (e == DONE) {
		script_send_end_of_rib(&r->s, V4);
		wait_for(node_view(&r->n, 1).families[V4].end_of_rib_received);
	} else {
		clock_move(&r->n, e == RESTART_TIME ? RESTART_TIME_S + 50 : LONG_LIVED_S + 50);
	}
	clock_settle(&r->n);
}

static struct model_route
route_of(struct rig *r, uint32_t addr)
{
	struct prefix p = prefix_from_v4(addr, 24);
	struct model_route found = {0};
	struct dest_view v;

	qsbr_online(r->n.readers, r->n.reader);
	if (dest_peek(shard_table(r->n.shard, r->n.table),
		    dest_find(shard_table(r->n.shard, r->n.table), &p), &v) &&
		v.paths != NULL && v.paths->count > 0) {
		found.there = true;
		found.stale = shard_path_stale(r->n.shard, V4, &v.paths->path[0]);
		found.marked = attr_has_community(
			attr_of(shard_attrs(r->n.shard), v.paths->path[0].accepted),
			COMMUNITY_LLGR_STALE);
	}
	qsbr_offline(r->n.readers, r->n.reader);
	return found;
}

static bool
agrees(struct rig *r, const struct model *m)
{
	struct model_route is[2] = {route_of(r, ONE), route_of(r, TWO)};

	return memcmp(is, m->route, sizeof(is)) == 0 &&
	       node_view(&r->n, 1).families[V4].retained == (m->phase != NO_PHASE);
}

static void
run_order(struct rig *r, const enum event *order, unsigned count)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct model m = {.up = true, .route = {{.there = true}, {.there = true}}};
	char text[200] = "";

	c.timers.stale_refresh_s = END_OF_RIB_S;
	c.timers.long_lived_stale_time = 2 * LONG_LIVED_S;
	c.timers.hold_s = 0;
	memset(r, 0, sizeof(*r));
	node_begin(&r->n, OWN_AS, OWN_ID);
	node_peer(&r->n, 1, &c, policy_accept_all());
	r->o = script_open(PEER_AS, PEER_ID);
	r->o.hold_time_s = 0;
	r->o.restart_time_s = RESTART_TIME_S;
	r->o.restart_families = r->o.forwarding_families = 1u << V4;
	script_attrs(&r->a, PEER_AS, NEXT_HOP);
	open_long_lived(r);
	announce(r, ONE);
	announce(r, TWO);
	event_make(r, DONE);
	for (unsigned i = 0; i < count; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			i > 0 ? ", " : "", event_text[order[i]]);
		event_make(r, order[i]);
		model_event(&m, order[i]);
		for (uint64_t until = now_ns() + WAIT_MS * 1000000ull; !agrees(r, &m); breathe())
			if (now_ns() > until)
				fail_msg("after %s", text);
	}
	end(r);
}

/*
 * Every order of up to four events after the first loss, against the model: the restart time, the
 * long-lived time, and the wait for End-of-RIB.
 */
static void
test_every_order(void **state)
{
	enum event order[5] = {LOST};
	unsigned orders = 0;

	(void)state;
	for (unsigned digits = 0; digits < EVENTS * EVENTS * EVENTS * EVENTS; digits++) {
		struct model m = {.up = true, .route = {{.there = true}, {.there = true}}};
		bool runs = model_event(&m, LOST);

		for (unsigned i = 1, left = digits; i < 5; i++, left /= EVENTS) {
			order[i] = left % EVENTS;
			runs = runs && model_event(&m, order[i]);
		}
		if (!runs)
			continue;
		run_order(&rig, order, 5);
		orders++;
	}
	assert_true(orders > 100);
	printf("%u orders\n", orders);
}

static void
call_shard_remove(void *arg)
{
	struct node_call *c = arg;

	role_enter_rib();
	c->result = shard_peer_remove(c->n->shard, c->id);
}

/* Removed before the shard processed the new session: until then the id is in use. */
static void
test_removed_unheard(void **state)
{
	struct rig *r = &rig;
	struct node_call call = {.n = &r->n, .id = {1}};

	begin(r, 60, false);
	thread_call(r->n.session, call_reset, &call);
	script_expect_notification(&r->s, ERR_CEASE, CEASE_ADMIN_RESET);
	expect_flushed(r);
	script_close(&r->s);
	atomic_store(&r->n.paused, true);
	established(r);
	thread_call(r->n.session, call_remove, &call);
	for (unsigned i = 0; i < 10; i++) {
		breathe();
		thread_call(r->n.session, call_gone, &call);
		assert_false(call.result);
	}
	atomic_store(&r->n.paused, false);
	thread_wake(r->n.rib[0]);
	do {
		breathe();
		thread_call(r->n.session, call_gone, &call);
	} while (!call.result);
	thread_call(r->n.rib[0], call_shard_remove, &call);
	assert_int_equal(call.result, 0);
	assert_int_equal(shard_failures(r->n.shard), 0);
	end(r);
}

static bool
is_complete(struct rig *r)
{
	struct node_call c = {0};

	node_do(&r->n, call_restart_complete, &c);
	return c.result != 0;
}

/*
 * keeld has restarted. A peer without the capability has not sent its whole table when it pauses: its
 * End-of-RIB, or a longer silence, ends the table.
 */
static void
test_pause_in_the_table(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct rig *r = &rig;

	(void)state;
	memset(r, 0, sizeof(*r));
	node_begin(&r->n, OWN_AS, OWN_ID);
	node_peer(&r->n, 1, &c, policy_accept_all());
	r->o = script_open(PEER_AS, PEER_ID);
	r->o.graceful_restart = false;
	script_attrs(&r->a, PEER_AS, NEXT_HOP);
	assert_false(is_complete(r));
	established(r);
	assert_false(is_complete(r));
	announce(r, ONE);
	usleep(1100000); /* the pause */
	announce(r, TWO);
	assert_false(is_complete(r));
	script_send_end_of_rib(&r->s, V4);
	wait_for(is_complete(r));
	end(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pause_in_the_table),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_restart_time),
		cmocka_unit_test(test_no_end_of_rib),
		cmocka_unit_test(test_not_kept),
		cmocka_unit_test(test_refresh_not_kept),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_no_capability),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_notification_sent),
		cmocka_unit_test(test_operator),
		cmocka_unit_test(test_back_unnoticed),
		cmocka_unit_test(test_shard_behind),
		cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_removed_unheard),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
