/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dynamic peers of a range: connections are held until main has created a session, and main is
 * informed of their end.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65077u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define LAST 77u /* 127.0.0.77 */
#define HELD_MAX 64u

static struct node n;
static struct script s;

static const struct speaker_range range = {
	.prefix = {.b = {127, 0, 0, 64}, .afi = AFI_IPV4, .len = 26}};

static void
set_ranges(const struct speaker_range *r, unsigned count)
{
	struct node_call c = {.ranges = r, .range_count = count};

	node_do(&n, call_ranges, &c);
	assert_int_equal(c.result, 0);
}

static void
begin(void)
{
	node_begin(&n, OWN_AS, OWN_ID);
	set_ranges(&range, 1);
	memset(&s, 0, sizeof(s));
}

static struct config_peer
dynamic_config(uint32_t asn)
{
	struct config_peer c = peer_config(asn, OWN_AS, LAST);

	c.dynamic = true;
	c.timers.idle_hold_s = 1;
	return c;
}

static unsigned
told(enum session_event_kind kind)
{
	return node_events(&n, kind, 0);
}

static void
came(unsigned times)
{
	wait_for(told(SESSION_DYNAMIC) >= times);
}

/* Adds a peer as main does after the event. */
static void
add(unsigned id, uint32_t asn)
{
	struct config_peer c = dynamic_config(asn);

	node_peer(&n, id, &c, policy_accept_all());
}

static void
drop(unsigned id)
{
	struct node_call call = {.id = {(uint16_t)id}};

	node_do(&n, call_remove, &call);
}

static void
talk(uint32_t asn, unsigned id)
{
	struct bgp_open_options o = script_open(asn, PEER_ID);

	o.graceful_restart = false;
	assert_non_null(script_read(&s, WAIT_MS));
	assert_int_equal(s.type, BGP_OPEN);
	script_send_open(&s, &o);
	script_send_keepalive(&s);
	wait_for(node_view(&n, id).state == FSM_ESTABLISHED);
}

/*
 * A held connection receives no message, then becomes a session; its OPEN sets the AS. Its end is
 * reported to main.
 */
static void
life(uint32_t configured, uint32_t said)
{
	struct session_view v;
	union script_attrs a;

	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	assert_int_equal(n.event[0].addr.b[3], LAST);
	assert_int_equal(n.event[0].vrf.v, VRF_DEFAULT.v);
	assert_null(script_read(&s, 50)); /* no OPEN yet */
	add(1, configured);
	talk(said, 1);
	v = node_view(&n, 1);
	assert_int_equal(v.remote_asn, said);
	assert_int_equal(v.external, said != OWN_AS);
	script_attrs(&a, said != OWN_AS ? said : 0, NEXT_HOP);
	a.a.has |= said == OWN_AS ? ATTR_HAS_LOCAL_PREF : 0;
	script_send_update(&s, &a.a, 0x0a000000, 1);
	wait_for(node_paths(&n, 0x0a000000, 24) == 1);
	assert_int_equal(told(SESSION_DYNAMIC_GONE), 0);
	script_close(&s);
	wait_for(told(SESSION_DYNAMIC_GONE) == 1);
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_int_equal(node_view(&n, 1).state, FSM_IDLE);
	drop(1);
	assert_int_equal(told(SESSION_DYNAMIC), 1);
	node_end(&n);
}

static void
test_life(void **state)
{
	life(PEER_AS, PEER_AS);
	life(0, PEER_AS);
	life(0, OWN_AS);
	life(0, 4200000000u);
}

/* An AS outside the range's set is refused, and the peer is removed. */
static void
test_wrong_as(void **state)
{
	struct bgp_open_options o = script_open(PEER_AS + 1, PEER_ID);

	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	add(1, PEER_AS);
	script_send_open(&s, &o);
	script_expect_notification(&s, ERR_OPEN, OPEN_BAD_PEER_AS);
	wait_for(told(SESSION_DYNAMIC_GONE) == 1);
	script_close(&s);
	node_end(&n);
}

/* The faults of a stranger end with its session, which main removes at once. */
static void
test_wrong_as_again(void **state)
{
	struct bgp_open_options o = script_open(PEER_AS + 1, PEER_ID);

	begin();
	for (unsigned round = 1; round <= 8; round++) {
		script_connect(&s, &n, LAST, 0);
		came(round);
		add(round, PEER_AS);
		script_send_open(&s, &o);
		script_expect_notification(&s, ERR_OPEN, OPEN_BAD_PEER_AS);
		wait_for(told(SESSION_DYNAMIC_GONE) == round);
		drop(round);
		wait_for(node_gone(&n, round));
		script_close(&s);
	}
	node_end(&n);
}

/*
 * A connection closed before the OPEN exchange is reported as gone; so is a connection closed
 * before the peer was added.
 */
static void
test_short_visits(void **state)
{
	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	add(1, 0);
	assert_non_null(script_read(&s, WAIT_MS));
	script_close(&s);
	wait_for(told(SESSION_DYNAMIC_GONE) == 1);
	drop(1);
	add(2, 0); /* no connection is held */
	wait_for(told(SESSION_DYNAMIC_GONE) == 2);
	node_end(&n);
}

/*
 * The peer returns before main has removed the old session: the event follows the end of the old
 * session.
 */
static void
test_comes_back(void **state)
{
	unsigned gone = 0, again = 0;

	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	add(1, 0);
	talk(PEER_AS, 1);
	script_close(&s);
	wait_for(told(SESSION_DYNAMIC_GONE) == 1);
	script_connect(&s, &n, LAST, 0);
	came(2);
	for (unsigned i = 0; i < n.event_count; i++) {
		gone = n.event[i].kind == SESSION_DYNAMIC_GONE ? i : gone;
		again = n.event[i].kind == SESSION_DYNAMIC ? i : again;
	}
	assert_true(again > gone);
	drop(1);
	add(2, 0);
	talk(PEER_AS, 2);
	script_close(&s);
	node_end(&n);
}

/*
 * A second connection while held replaces the first; a static peer can also take the held
 * connection.
 */
static void
test_knocks_twice(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, LAST);
	static struct script first;

	begin();
	script_connect(&first, &n, LAST, 0);
	came(1);
	script_connect(&s, &n, LAST, 0);
	assert_null(script_read(&first, WAIT_MS)); /* dropped */
	assert_int_equal(told(SESSION_DYNAMIC), 1);
	node_peer(&n, 1, &c, policy_accept_all());
	talk(PEER_AS, 1);
	assert_int_equal(told(SESSION_DYNAMIC_GONE), 0);
	script_close(&first);
	script_close(&s);
	node_end(&n);
}

/*
 * A connection that main does not accept is reported as gone after a while. An address outside all
 * ranges is closed without a message.
 */
static void
test_not_wanted(void **state)
{
	static struct script other;

	begin();
	script_connect(&other, &n, 63, 0);
	assert_null(script_read(&other, WAIT_MS));
	script_close(&other);
	script_connect(&s, &n, LAST, 0);
	script_expect_notification(&s, ERR_CEASE, CEASE_REJECTED);
	script_close(&s);
	assert_int_equal(told(SESSION_DYNAMIC), 1);
	node_end(&n);
}

/* Refused by main: closed at once, and a new attempt is reported again. */
static void
test_refused(void **state)
{
	struct node_call c = {.addr = loopback(LAST)};

	begin();
	node_do(&n, call_refuse, &c); /* no held connection: no effect */
	for (unsigned i = 1; i <= 3; i++) {
		script_connect(&s, &n, LAST, 0);
		came(i);
		node_do(&n, call_refuse, &c);
		script_expect_notification(&s, ERR_CEASE, CEASE_REJECTED);
		script_close(&s);
	}
	node_end(&n);
}

/* The number of held connections is limited, and a change of the ranges closes them. */
static void
test_many(void **state)
{
	static const struct speaker_range wide = {
		.prefix = {.b = {127, 0, 1, 0}, .afi = AFI_IPV4, .len = 24}};
	static struct script all[HELD_MAX];

	begin();
	set_ranges(&wide, 1);
	for (unsigned i = 0; i < HELD_MAX; i++)
		script_connect(&all[i], &n, 256 + 1 + i, 0);
	came(HELD_MAX);
	script_connect(&s, &n, 256 + 200, 0);
	script_expect_notification(&s, ERR_CEASE, CEASE_REJECTED);
	script_close(&s);
	set_ranges(&range, 1);
	for (unsigned i = 0; i < HELD_MAX; i++) {
		script_expect_notification(&all[i], ERR_CEASE, CEASE_REJECTED);
		script_close(&all[i]);
	}
	script_connect(&s, &n, LAST, 0);
	came(HELD_MAX + 1);
	set_ranges(NULL, 0);
	script_expect_notification(&s, ERR_CEASE, CEASE_REJECTED);
	script_close(&s);
	node_end(&n);
}

/*
 * The operator's reset or a changed configuration ends the session: the peer returns as a new peer.
 */
static void
test_operator(void **state)
{
	struct config_peer c = dynamic_config(0);
	struct session_policies policies = {
		.export_policy[0] = policy_accept_all(), .has_import[0] = true};
	struct node_call call = {.id = {1}, .text = "bye", .config = &c, .policies = &policies};

	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	add(1, 0);
	talk(PEER_AS, 1);
	/* A configuration without an AS number is no change of the learned AS number. */
	node_do(&n, call_update, &call);
	assert_false(call.result);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	node_do(&n, call_reset, &call);
	assert_true(call.result);
	script_expect_notification(&s, ERR_CEASE, CEASE_ADMIN_RESET);
	wait_for(told(SESSION_DYNAMIC_GONE) == 1);
	script_close(&s);
	drop(1);

	script_connect(&s, &n, LAST, 0);
	came(2);
	add(2, 0);
	talk(PEER_AS, 2);
	call.id.v = 2;
	c.capabilities.route_refresh = false;
	node_do(&n, call_update, &call);
	assert_true(call.result);
	script_expect_notification(&s, ERR_CEASE, CEASE_CONFIG_CHANGE);
	wait_for(told(SESSION_DYNAMIC_GONE) == 2);
	script_close(&s);
	node_end(&n);
}

/* RFC 4724 4.2: the peer is not gone while its routes are retained; the same session resumes. */
static void
test_graceful_restart(void **state)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	union script_attrs a;

	o.restart_time_s = 2;
	o.restart_families = o.forwarding_families = 1;
	begin();
	script_connect(&s, &n, LAST, 0);
	came(1);
	add(1, 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_non_null(script_read(&s, WAIT_MS));
		script_send_open(&s, &o);
		script_send_keepalive(&s);
		wait_for(node_view(&n, 1).established_count == 1 + i);
		script_attrs(&a, PEER_AS, NEXT_HOP);
		script_send_update(&s, &a.a, 0x0a000000, 1);
		wait_for(node_paths(&n, 0x0a000000, 24) == 1);
		script_close(&s);
		wait_for(node_view(&n, 1).families[0].retained);
		assert_int_equal(told(SESSION_DYNAMIC_GONE), 0);
		if (i == 0)
			script_connect(&s, &n, LAST, 0);
	}
	wait_for(told(SESSION_DYNAMIC_GONE) == 1); /* the peer did not return */
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_int_equal(told(SESSION_DYNAMIC), 1);
	node_end(&n);
}

/* The range's password applies, except for a configured peer with its own password. */
static void
test_password(void **state)
{
	struct speaker_range r = range;
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 78);
	char lent[] = "for all";

	begin();
	c.password = "for one";
	node_peer(&n, 1, &c, policy_accept_all());
	r.password = lent;
	set_ranges(&r, 1);
	memset(lent, 'x', sizeof(lent) - 1);
	s.password = "for all";
	script_connect(&s, &n, LAST, 0);
	came(1);
	script_close(&s);
	s.password = "for one";
	script_connect(&s, &n, 78, 0);
	assert_non_null(script_read(&s, WAIT_MS));
	assert_int_equal(s.type, BGP_OPEN);
	script_close(&s);
	/* Without a range password the prefix needs no password. */
	set_ranges(&range, 1);
	s.password = NULL;
	script_connect(&s, &n, LAST + 2, 0);
	came(2);
	script_close(&s);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_wrong_as),
		cmocka_unit_test(test_wrong_as_again),
		cmocka_unit_test(test_short_visits),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_knocks_twice),
		cmocka_unit_test(test_not_wanted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_operator),
		cmocka_unit_test(test_graceful_restart),
		cmocka_unit_test(test_password),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
