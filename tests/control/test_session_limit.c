/* SPDX-License-Identifier: BSD-3-Clause */
/* max_prefixes: shutdown and warning (RFC 4486 4), and restart of the session. */
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

static struct node n;
static struct script s;

static void
greet(void)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
}

static void
send_routes(unsigned count)
{
	union script_attrs a;

	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, count);
}

static void
greet_and_send(unsigned count)
{
	greet();
	send_routes(count);
}

static void
expect_shut(uint32_t limit)
{
	uint8_t data[] = {0, 1, 1, 0, 0, 0, (uint8_t)limit};

	script_expect_notification(&s, ERR_CEASE, CEASE_MAX_PREFIXES);
	assert_int_equal(s.len, BGP_HEADER_LEN + 2 + sizeof(data));
	assert_memory_equal(s.buf + BGP_HEADER_LEN + 2, data, sizeof(data));
	script_close(&s);
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_true(node_view(&n, 1).held);
	assert_int_equal(node_view(&n, 1).state, FSM_IDLE);
	assert_true(node_view(&n, 1).families[V4].max_prefixes_exceeded);
	assert_string_equal(
		node_view(&n, 1).last_error, "sent cease/maximum-number-of-prefixes-reached");
	/* The session does not restart automatically, and refuses connections. */
	script_connect(&s, &n, 2, 0);
	assert_null(script_read(&s, WAIT_MS));
	script_close(&s);
}

static void
test_shutdown(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct session_policies policies = {
		.export_policy = {policy_accept_all()}, .has_import = {true}};
	struct node_call call = {.n = &n, .id = {1}, .config = &c, .policies = &policies};

	c.timers.idle_hold_s = 1;
	c.families[V4].max_prefixes = 20;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	greet_and_send(20); /* exactly the limit */
	wait_for(node_paths(&n, 0x0a001300, 24) == 1);
	for (unsigned i = 0; i < 50; i++)
		breathe();
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_int_equal(node_view(&n, 1).families[V4].max_prefixes, 20);
	assert_false(node_view(&n, 1).families[V4].max_prefixes_exceeded);
	script_close(&s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);

	greet_and_send(21);
	expect_shut(20);
	thread_call(n.session, call_reset, &call);
	assert_true(call.result);
	assert_false(node_view(&n, 1).held);
	greet_and_send(21);
	expect_shut(20);
	/*
	 * After a change of the limit the session may restart; the new limit applies to the
	 * established session, too.
	 */
	c.families[V4].max_prefixes = 30;
	thread_call(n.session, call_update, &call);
	assert_false(call.result);
	greet_and_send(30);
	wait_for(node_paths(&n, 0x0a001d00, 24) == 1);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	c.families[V4].max_prefixes = 29;
	thread_call(n.session, call_update, &call);
	expect_shut(29);
	node_end(&n);
}

static void
test_warning(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);

	c.families[V4].max_prefixes = 20;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	greet_and_send(60);
	wait_for(node_view(&n, 1).families[V4].max_prefixes_exceeded);
	wait_for(node_paths(&n, 0x0a003b00, 24) == 1);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_false(node_view(&n, 1).held);
	script_close(&s);
	node_end(&n);
}

/*
 * The shard may keep a batch for longer than the session expects, for example while waiting for the
 * fib thread.
 */
static void
test_late_shard(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint64_t until;

	c.families[V4].max_prefixes = 20;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	greet();
	atomic_store(&n.paused, true);
	send_routes(21);
	wait_for(node_view(&n, 1).updates_received == 1);
	until = now_ns() + 2500000000u;
	while (now_ns() < until)
		breathe();
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	atomic_store(&n.paused, false);
	node_wake_shards(&n);
	expect_shut(20);
	node_end(&n);
}

/* Refused prefixes are neither stored nor counted (`received` of bgp.peers). */
static void
test_refused_not_counted(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);

	c.families[V4].max_prefixes = 20;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, NULL);
	greet_and_send(60);
	wait_for(node_view(&n, 1).updates_received == 1);
	for (unsigned i = 0; i < 50; i++)
		breathe();
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	script_close(&s);
	node_end(&n);
}

/* ---- every order of events, with a clock that the test moves ---- */

#define RESTART_S 100u

enum event { CONNECT, LOST, EXCEED, RESET, CHANGED, RESTART_TIME, EVENTS };

static const char *const event_text[] = {
	"connect", "lost", "too many", "reset", "another limit", "the restart time"};

struct model {
	bool up, held;
	unsigned limit;
};

/* keel.json(5), max_prefixes. False: the event cannot happen, or changes nothing. */
static bool
model_event(struct model *m, enum event e)
{
	if ((e == CONNECT && m->up) || ((e == LOST || e == EXCEED) && !m->up) ||
		(e == RESET && !m->up && !m->held) || (e == RESTART_TIME && !m->held))
		return false;
	if (e == CONNECT)
		m->up = !m->held;
	else if (e == EXCEED)
		m->held = true;
	else if (e == CHANGED)
		m->limit++;
	if (e >= RESET)
		m->held = false;
	if (e == LOST || e == EXCEED || e == RESET)
		m->up = false;
	return true;
}

static void
event_make(struct config_peer *c, const struct model *was, enum event e)
{
	struct session_policies policies = {
		.export_policy = {policy_accept_all()}, .has_import = {true}};
	struct node_call call = {.n = &n, .id = {1}, .config = c, .policies = &policies};
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	o.hold_time_s = 0;
	if (e == CONNECT && was->held) {
		script_connect(&s, &n, 2, 0);
		assert_null(script_read(&s, WAIT_MS));
		script_close(&s);
	} else if (e == CONNECT) {
		script_establish(&s, &n, 2, &o);
	} else if (e == LOST) {
		script_close(&s);
	} else if (e == EXCEED) {
		send_routes(was->limit + 1);
		script_expect_notification(&s, ERR_CEASE, CEASE_MAX_PREFIXES);
		script_close(&s);
	} else if (e == RESET) {
		thread_call(n.session, call_reset, &call);
		assert_true(call.result);
		if (was->up)
			script_close(&s);
	} else if (e == CHANGED) {
		c->families[V4].max_prefixes++;
		thread_call(n.session, call_update, &call);
	} else {
		clock_move(&n, RESTART_S + 1);
	}
	clock_settle(&n);
}

static void
run_order(const enum event *order, unsigned count)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct model m = {.limit = 5};
	char text[200] = "";

	c.timers.hold_s = 0;
	c.families[V4].max_prefixes = m.limit;
	c.families[V4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	c.families[V4].max_prefixes_restart_s = RESTART_S;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	for (unsigned i = 0; i < count; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			i > 0 ? ", " : "", event_text[order[i]]);
		event_make(&c, &m, order[i]);
		model_event(&m, order[i]);
		for (uint64_t until = now_ns() + WAIT_MS * 1000000ull;
			(node_view(&n, 1).state == FSM_ESTABLISHED) != m.up ||
			node_view(&n, 1).held != m.held;
			breathe())
			if (now_ns() > until)
				fail_msg("after %s", text);
	}
	if (m.up)
		script_close(&s);
	node_end(&n);
}

/* Every order of three events after the limit was exceeded. */
static void
test_every_order(void **state)
{
	enum event order[5] = {CONNECT, EXCEED};
	unsigned orders = 0;

	(void)state;
	for (unsigned digits = 0; digits < EVENTS * EVENTS * EVENTS; digits++) {
		struct model m = {0};
		bool runs = model_event(&m, CONNECT) && model_event(&m, EXCEED);

		for (unsigned i = 2, left = digits; i < 5; i++, left /= EVENTS) {
			order[i] = left % EVENTS;
			runs = runs && model_event(&m, order[i]);
		}
		if (!runs)
			continue;
		run_order(order, 5);
		orders++;
	}
	assert_true(orders > 20);
	printf("%u orders\n", orders);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_warning),
		cmocka_unit_test(test_late_shard),
		cmocka_unit_test(test_refused_not_counted),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
