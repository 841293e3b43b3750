/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `timers` of the configuration, one by one, and events that end or skip a wait.
 * (min_advertisement_s: test_session_export.c; stale_refresh_s: test_session.c,
 * test_session_restart.c; send_hold_s: test_session_fair.c.)
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define MS 1000000ull

static struct node n;
static struct script s;

static void
begin(const struct config_peer *c)
{
	memset(&s, 0, sizeof(s));
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, c, policy_accept_all());
}

static void
establish(void)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
}

static uint64_t
ms_since(uint64_t begin)
{
	return (now_ns() - begin) / MS;
}

/* RFC 4271 4.2: our value is offered, the smaller value holds; 0 on one side disables the timer. */
static void
test_hold(void **state)
{
	static const struct {
		uint16_t ours, theirs, holds;
	} t[] = {{30, 90, 30}, {90, 33, 33}, {0, 90, 0}, {90, 0, 0}};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
		struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
		struct bgp_open open;

		c.timers.hold_s = t[i].ours;
		o.hold_time_s = t[i].theirs;
		begin(&c);
		script_greet(&s, &n, 2);
		assert_int_equal(bgp_open_decode(s.buf, s.len, &open).severity, BGP_OK);
		assert_int_equal(open.hold_time_s, t[i].ours);
		script_send_open(&s, &o);
		script_send_keepalive(&s);
		wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
		assert_int_equal(node_view(&n, 1).hold_time_s, t[i].holds);
		script_close(&s);
		node_end(&n);
	}
}

/* Every second, less up to 25 %, although a third of the hold time is 30 s. */
static void
test_keepalive(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint64_t from = now_ns();

	c.timers.keepalive_s = 1;
	begin(&c);
	establish();
	script_read_routes(&s, -1, NULL);
	for (unsigned i = 0; i < 3; i++) {
		assert_non_null(script_read(&s, WAIT_MS));
		assert_int_equal(s.type, BGP_KEEPALIVE);
	}
	assert_in_range(ms_since(from), 3 * 740, 29000);
	script_close(&s);
	node_end(&n);
}

/* Retries every second, 25 % more or less, while the peer closes accepted connections. */
static void
test_connect_retry(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint64_t from = now_ns(), last = 0, wait[4];
	int listener = script_listen(&s, &c.tcp_port);

	c.passive = false;
	c.source = loopback(1);
	begin(&c);
	for (unsigned i = 0; i < 5; i++) {
		script_accept(&s, listener);
		/* the sum of all waits: a late check of one wait makes the next wait look short */
		assert_in_range(ms_since(from), i * 740, 60000);
		if (i > 0)
			wait[i - 1] = now_ns() - last;
		last = now_ns();
		script_close(&s);
	}
	/* jittered */
	assert_true(wait[0] / MS != wait[1] / MS || wait[1] / MS != wait[2] / MS ||
		    wait[2] / MS != wait[3] / MS);
	close(listener);
	node_end(&n);
}

/*
 * Sends a wrong OPEN; returns the time in ms until the node answers again. UINT64_MAX: the hold ended
 * before the test looked.
 */
static uint64_t
offend(void)
{
	struct bgp_open_options o = script_open(PEER_AS + 1, PEER_ID);
	uint64_t from = now_ns();
	bool held;

	script_send_open(&s, &o);
	script_expect_notification(&s, ERR_OPEN, OPEN_BAD_PEER_AS);
	held = node_view(&n, 1).idle_hold;
	assert_true(held || ms_since(from) >= 1000);
	script_close(&s);
	script_greet(&s, &n, 2);
	assert_false(node_view(&n, 1).idle_hold);
	return held ? ms_since(from) : UINT64_MAX;
}

/* 1 s, 2 s, 4 s; a reset ends the wait and starts again at 1 s. False: a wait took longer. */
static bool
idle_holds(void)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options wrong = script_open(PEER_AS + 1, PEER_ID);
	struct node_call call = {.id = {1}};
	uint64_t from, took[4];

	c.timers.idle_hold_s = 1;
	begin(&c);
	script_greet(&s, &n, 2);
	took[0] = offend();
	took[1] = offend();
	script_send_open(&s, &wrong);
	script_expect_notification(&s, ERR_OPEN, OPEN_BAD_PEER_AS);
	script_close(&s);
	assert_true(node_view(&n, 1).idle_hold); /* 4 s now */
	from = now_ns();
	node_do(&n, call_reset, &call);
	assert_true(call.result);
	assert_false(node_view(&n, 1).idle_hold);
	script_greet(&s, &n, 2);
	took[2] = ms_since(from);
	took[3] = offend();
	script_close(&s);
	node_end(&n);
	assert_true(took[0] >= 1000 && took[1] >= 2000 && took[3] >= 1000);
	return took[0] < 1990 && took[1] < 3990 && took[2] < 3900 && took[3] < 1990;
}

/* A delay by other processes does not occur five times in a row. */
static void
test_idle_hold(void **state)
{
	unsigned times = 1;

	while (!idle_holds())
		assert_true(++times <= 5);
}

/*
 * A reset by the peer's operator: the peer may reconnect at once. A second reset within a second
 * must wait.
 */
static void
test_reset_by_the_peer(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint64_t from;

	c.timers.idle_hold_s = 60;
	c.timers.keepalive_s = 1;
	begin(&c);
	establish();
	script_read_routes(&s, -1, NULL);
	for (unsigned i = 0; i < 3; i++) /* up for more than a second */
		assert_non_null(script_read(&s, WAIT_MS));
	script_send_notification(&s, ERR_CEASE, CEASE_ADMIN_RESET, "\x09later ...", 10);
	assert_null(script_next(&s));
	script_close(&s);
	assert_string_equal(
		node_view(&n, 1).last_error, "received cease/administrative-reset: \"later ...\"");
	from = now_ns();
	establish();
	assert_true(ms_since(from) < 50000);
	/* On a slow machine the session may have been up for more than a second again. */
	for (;;) {
		uint64_t up = node_view(&n, 1).established_ns;

		script_send_notification(&s, ERR_CEASE, CEASE_ADMIN_RESET, NULL, 0);
		wait_for(node_view(&n, 1).idle_hold || node_view(&n, 1).state == FSM_ACTIVE);
		if (node_view(&n, 1).idle_hold)
			break;
		assert_true(now_ns() - up >= 1000 * MS);
		script_close(&s);
		establish();
	}
	script_close(&s);
	node_end(&n);
}

/*
 * RFC 4271 8.2.2: a large hold time until the OPEN arrives, independent of the negotiated hold
 * time.
 */
static void
test_open_sent_hold(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint64_t from;

	c.timers.open_sent_hold_s = 2;
	c.timers.hold_s = 30;
	from = now_ns();
	begin(&c);
	script_greet(&s, &n, 2);
	script_expect_notification(&s, ERR_HOLD_TIMER, 0);
	assert_in_range(ms_since(from), 2000, 29000);
	script_close(&s);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_connect_retry),
		cmocka_unit_test(test_idle_hold),
		cmocka_unit_test(test_reset_by_the_peer),
		cmocka_unit_test(test_open_sent_hold),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
