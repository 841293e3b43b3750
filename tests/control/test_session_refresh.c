/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session's part in a soft reset with kept routes (keel-policy(7) rules 1 to 5), the end of a
 * change of export policy, resets with a text (RFC 9003), and OPENs with extended optional
 * parameters (RFC 9072).
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST
#define V6 FAMILY_IPV6_UNICAST
#define ROUTES 3000u
#define PEERS 4u

static struct node n;
static struct script s;

static void
originate(unsigned count, uint32_t med)
{
	struct attr_set own;

	memset(&own, 0, sizeof(own));
	own.next_hop = addr_from_v4(NEXT_HOP);
	own.has = ATTR_HAS_MED;
	for (unsigned i = 0; i < count; i++) {
		own.med = med + i / 4;
		node_originate(&n, 0x0a000000 + i * 256, 24, &own);
	}
}

static void
begin(const struct config_peer *c)
{
	memset(&s, 0, sizeof(s));
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, c, policy_accept_all());
}

static void
establish(struct script *of, unsigned id, const struct bgp_open_options *o)
{
	script_establish(of, &n, 1 + id, o);
	wait_for(node_view(&n, id).state == FSM_ESTABLISHED);
}

static enum refresh_action
ask(void (*what)(void *arg), enum family f, const char **reason)
{
	struct node_call call = {.id = {1}, .family = f, .job = 42};

	node_do(&n, what, &call);
	*reason = call.reason != NULL ? call.reason : "";
	return (enum refresh_action)call.result;
}

#define expect_action(what, family, action, why)                                                   \
	do {                                                                                       \
		const char *reason_;                                                               \
		assert_int_equal(ask(what, family, &reason_), action);                             \
		assert_string_equal(reason_, why);                                                 \
	} while (0)

/* The four cases, and a family that is configured but not negotiated. */
static void
test_kept_routes(void **state)
{
	static const struct {
		bool refresh, keep;
		enum refresh_action action;
		const char *reason;
	} t[] = {
		{true, false, REFRESH_SENT, ""},
		{false, false, REFRESH_UNSUPPORTED, "no-route-refresh"},
		{false, true, REFRESH_REPLAYED, ""},
		{true, true, REFRESH_NO_OP, "keep-all-routes"},
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
		struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
		unsigned sent = 0;

		c.families[V4].keep_all_routes = t[i].keep;
		c.families[V6].enabled = true;
		o.route_refresh = o.enhanced_route_refresh = t[i].refresh;
		begin(&c);
		expect_action(call_refresh_import, V4, REFRESH_NOT_ESTABLISHED, "");
		expect_action(call_refresh_fill, V4, REFRESH_NOT_ESTABLISHED, "");
		establish(&s, 1, &o);
		script_read_routes(&s, -1, NULL);
		expect_action(call_refresh_import, V6, REFRESH_UNSUPPORTED, "not-negotiated");
		expect_action(call_refresh_fill, V6, REFRESH_UNSUPPORTED, "not-negotiated");
		expect_action(call_refresh_import, V4, t[i].action, t[i].reason);
		sent += t[i].action == REFRESH_SENT;
		assert_int_equal(node_view(&n, 1).families[V4].requests_sent, sent);
		/*
		 * A request that fills kept routes is sent in any case, if the peer supports
		 * requests.
		 */
		expect_action(call_refresh_fill, V4,
			t[i].refresh ? REFRESH_SENT : REFRESH_UNSUPPORTED,
			t[i].refresh ? "" : "no-route-refresh");
		sent += t[i].refresh;
		for (unsigned k = 0; k < sent; k++) {
			assert_non_null(script_next(&s));
			assert_int_equal(s.type, BGP_ROUTE_REFRESH);
		}
		assert_int_equal(node_events(&n, SESSION_REFRESH_SENT, 42), sent);
		assert_int_equal(node_view(&n, 1).established_count, 1);
		script_close(&s);
		node_end(&n);
	}
}

/*
 * keel-policy(7) rule 11: requests before the answer begins share a message; requests during the
 * answer share one more.
 */
static void
test_requests_join(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	begin(&c);
	establish(&s, 1, &o);
	script_read_routes(&s, -1, NULL);
	script_send_end_of_rib(&s, V4);
	wait_for(node_view(&n, 1).families[V4].end_of_rib_received);
	for (unsigned answers = 1; answers <= 2; answers++) {
		for (unsigned i = 0; i < 5; i++)
			expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		assert_int_equal(node_view(&n, 1).families[V4].requests_sent, answers);
		assert_int_equal(node_events(&n, SESSION_REFRESH_SENT, 42), 5 * answers);
		script_send_refresh(&s, REFRESH_BEGIN);
		wait_for(node_view(&n, 1).families[V4].borr_received == answers);
		assert_int_equal(node_events(&n, SESSION_REFRESH_DONE, 42), 0);
	}
	script_send_refresh(&s, REFRESH_END);
	wait_for(node_events(&n, SESSION_REFRESH_DONE, 42) == 10);
	expect_action(call_refresh_import, V4, REFRESH_SENT, "");
	assert_int_equal(node_view(&n, 1).families[V4].requests_sent, 3);
	/* A request that fills kept routes never joins an earlier request. */
	expect_action(call_refresh_fill, V4, REFRESH_SENT, "");
	assert_int_equal(node_view(&n, 1).families[V4].requests_sent, 4);
	script_close(&s);
	node_end(&n);
}

/* Against RFC 7313 4, the peer answers without BoRR. Later requests are not lost. */
static void
test_requests_unframed(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	union script_attrs a;

	begin(&c);
	establish(&s, 1, &o);
	script_read_routes(&s, -1, NULL);
	script_send_end_of_rib(&s, V4);
	wait_for(node_view(&n, 1).families[V4].end_of_rib_received);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	for (unsigned i = 1; i <= 3; i++) {
		expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		assert_int_equal(node_view(&n, 1).families[V4].requests_sent, i);
		script_send_update(&s, &a.a, 0x0b000000, 1);
		wait_for(node_view(&n, 1).updates_received == i + 1); /* and the End-of-RIB */
	}
	script_close(&s);
	node_end(&n);
}

static void
call_flood(void *arg)
{
	struct node_call *c = arg;
	struct session_view v;
	uint64_t before;

	role_enter_session();
	session_peek(c->n->speaker, c->id, &v);
	c->result = 0;
	do {
		before = v.families[V4].requests_sent;
		session_refresh_fill(c->n->speaker, c->id, V4, 0, &c->reason);
		session_peek(c->n->speaker, c->id, &v);
		c->result++;
	} while (v.families[V4].requests_sent > before);
}

/* Sends requests until the connection of a peer that does not read is full. */
static void
flood(void)
{
	struct node_call call = {.id = {1}};

	do {
		node_do(&n, call_flood, &call);
		for (unsigned i = 0; i < 20; i++)
			breathe();
	} while (call.result > 1);
}

/*
 * Without BoRR and EoRR, the job of a request ends with the answer's End-of-RIB, or after a silence
 * of the peer; the loss of the session does not complete the job.
 */
static void
test_unframed_job_ends_with_the_answer(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	union script_attrs a;

	o.enhanced_route_refresh = false;
	begin(&c);
	establish(&s, 1, &o);
	script_read_routes(&s, -1, NULL);
	script_send_end_of_rib(&s, V4);
	wait_for(node_view(&n, 1).families[V4].end_of_rib_received);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	expect_action(call_refresh_import, V4, REFRESH_SENT, "");
	script_send_update(&s, &a.a, 0x0b000000, 1);
	wait_for(node_view(&n, 1).updates_received == 2);
	assert_int_equal(node_events(&n, SESSION_REFRESH_DONE, 42), 0);
	script_send_end_of_rib(&s, V4);
	wait_for(node_events(&n, SESSION_REFRESH_DONE, 42) == 1);
	expect_action(call_refresh_import, V4, REFRESH_SENT, "");
	script_send_update(&s, &a.a, 0x0b000000, 1);
	wait_for(node_events(&n, SESSION_REFRESH_DONE, 42) == 2); /* after a silence */
	expect_action(call_refresh_import, V4, REFRESH_SENT, "");
	script_close(&s);
	wait_for(node_events(&n, SESSION_REFRESH_FAILED, 42) == 1);
	node_end(&n);
}

/*
 * With a full output, the request is sent when the peer reads: one message for all waiting
 * requests.
 */
static void
test_request_waits_for_room(void **state)
{
	for (unsigned framed = 0; framed < 2; framed++) {
		struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
		struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
		uint64_t sent;

		o.enhanced_route_refresh = framed;
		begin(&c);
		script_connect(&s, &n, 2, 4096);
		assert_non_null(script_read(&s, WAIT_MS));
		script_send_open(&s, &o);
		assert_non_null(script_read(&s, WAIT_MS));
		script_send_keepalive(&s);
		wait_for(node_view(&n, 1).families[V4].end_of_rib_sent);
		flood();
		if (framed) { /* end the jobs of flood() */
			script_send_end_of_rib(&s, V4);
			script_send_refresh(&s, REFRESH_BEGIN);
			script_send_refresh(&s, REFRESH_END);
			wait_for(node_view(&n, 1).families[V4].eorr_received == 1);
		}
		pthread_mutex_lock(&n.lock);
		n.event_count = 0;
		pthread_mutex_unlock(&n.lock);
		sent = node_view(&n, 1).families[V4].requests_sent;
		expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		expect_action(call_refresh_fill, V4, REFRESH_SENT, "");
		assert_int_equal(node_events(&n, SESSION_REFRESH_SENT, 42), 0);
		assert_int_equal(node_events(&n, SESSION_REFRESH_DONE, 42), 0);
		script_read_routes(&s, -1, NULL);
		for (uint64_t i = 0; i <= sent; i++) {
			assert_non_null(script_next(&s));
			assert_int_equal(s.type, BGP_ROUTE_REFRESH);
		}
		assert_int_equal(node_view(&n, 1).families[V4].requests_sent, sent + 1);
		assert_int_equal(node_events(&n, SESSION_REFRESH_SENT, 42), 2);
		assert_int_equal(node_events(&n, SESSION_REFRESH_DONE, 42), 0);
		if (framed) {
			script_send_refresh(&s, REFRESH_BEGIN);
			script_send_refresh(&s, REFRESH_END);
		} else {
			for (uint64_t i = 0; i <= sent + 1;
				i++) /* of the table, and of each request's answer */
				script_send_end_of_rib(&s, V4);
		}
		wait_for(node_events(&n, SESSION_REFRESH_DONE, 42) == 2);
		flood();
		expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		pthread_mutex_lock(&n.lock);
		n.event_count = 0;
		pthread_mutex_unlock(&n.lock);
		script_close(&s);
		wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
		if (!framed)
			assert_int_equal(node_events(&n, SESSION_REFRESH_FAILED, 42), 1);
		sent = node_view(&n, 1).families[V4].requests_sent;
		establish(&s, 1, &o);
		script_read_routes(&s, -1, NULL);
		expect_action(call_refresh_import, V4, REFRESH_SENT, "");
		assert_int_equal(script_read_routes(&s, REFRESH_REQUEST, NULL), 0);
		assert_int_equal(node_view(&n, 1).families[V4].requests_sent, sent + 1);
		script_close(&s);
		node_end(&n);
	}
}

/*
 * keep_all_routes on or off: the session stays. Main decides about a reset, with the subcode for a
 * changed configuration.
 */
static void
test_keep_turned_on(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct session_policies policies = {
		.export_policy[V4] = policy_accept_all(), .has_import[V4] = true};
	struct node_call call = {.id = {1}, .config = &c, .policies = &policies};

	o.route_refresh = o.enhanced_route_refresh = false;
	begin(&c);
	node_do(&n, call_reset_config, &call);
	assert_false(call.result);
	establish(&s, 1, &o);
	c.families[V4].keep_all_routes = true;
	node_do(&n, call_update, &call);
	assert_false(call.result);
	expect_action(call_refresh_import, V4, REFRESH_REPLAYED, "");
	node_do(&n, call_reset_config, &call);
	assert_true(call.result);
	script_expect_notification(&s, ERR_CEASE, CEASE_CONFIG_CHANGE);
	script_close(&s);
	establish(&s, 1, &o);
	assert_int_equal(node_view(&n, 1).established_count, 2);
	script_close(&s);
	node_end(&n);
}

/* ---- the end of a change of policy ---- */

static bool
change(unsigned id, const struct policy *p, uint32_t job)
{
	struct session_policies policies = {.export_policy[V4] = p, .has_import[V4] = true};
	struct node_call call = {
		.id = {(uint16_t)id}, .policies = &policies, .family = V4, .job = job};

	node_do(&n, call_export_policies, &call);
	return call.result;
}

static unsigned
done(uint32_t job)
{
	return node_events(&n, SESSION_EXPORT_DONE, job);
}

/* Counts the next withdrawals, up to `count`. */
static unsigned
read_withdrawn(struct script *of, unsigned count)
{
	unsigned seen = 0;

	while (seen < count) {
		struct bgp_update u;

		(void)script_decode(of, script_next(of), 1, &u);
		assert_int_equal(u.announced_count, 0);
		for (unsigned i = 0; i < u.withdrawn_count; i++)
			seen += script_prefixes(&u.withdrawn[i]);
	}
	return seen;
}

/*
 * The job of a policy change is reported when all UPDATEs are sent, not before; repeatedly; at once
 * without a change; as failed at the end of the session.
 */
static void
test_export_job(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	begin(&c);
	originate(ROUTES, 1);
	assert_false(change(1, policy_accept_all(), 5)); /* no session */
	establish(&s, 1, &o);
	assert_int_equal(script_read_routes(&s, -1, NULL), ROUTES);
	assert_true(change(1, policy_accept_all(), 6)); /* unchanged policy */
	wait_for(done(6) == 1);
	assert_true(change(1, policy_deny_all(), 7));
	wait_for(done(7) == 1);
	assert_int_equal(node_view(&n, 1).families[V4].advertised, 0);
	assert_int_equal(read_withdrawn(&s, ROUTES), ROUTES);
	/* Changed and restored between two turns: no intermediate UPDATE was sent. */
	assert_true(change(1, policy_accept_all(), 8));
	assert_true(change(1, policy_deny_all(), 9));
	wait_for(done(8) == 1 && done(9) == 1);
	assert_int_equal(node_view(&n, 1).families[V4].advertised, 0);
	assert_true(change(1, policy_accept_all(), 10));
	wait_for(done(10) == 1);
	assert_int_equal(node_view(&n, 1).families[V4].advertised, ROUTES);
	for (uint32_t job = 5; job <= 10; job++)
		assert_true(done(job) == (job > 5));
	script_close(&s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	for (uint32_t job = 5; job <= 10; job++)
		assert_int_equal(node_events(&n, SESSION_REFRESH_FAILED, job), 0);
	node_end(&n);
}

/*
 * The job waits for the End-of-RIB of the first dump; with a peer that does not read, the job waits
 * and fails with the session.
 */
static void
test_export_job_slow(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	if (!own_net_takes_little())
		skip();
	begin(&c);
	originate(20 * ROUTES, 1); /* more than the buffers take */
	script_connect(&s, &n, 2, 4096);
	assert_non_null(script_read(&s, WAIT_MS));
	script_send_open(&s, &o);
	script_send_keepalive(&s);
	wait_for(node_view(&n, 1).updates_sent > 0);
	assert_true(change(1, policy_accept_all(), 11));
	assert_int_equal(done(11), 0);
	assert_false(node_view(&n, 1).families[V4].end_of_rib_sent);
	assert_int_equal(script_read_routes(&s, -1, NULL), 20 * ROUTES);
	wait_for(done(11) == 1);
	assert_true(change(1, policy_deny_all(), 12));
	assert_int_equal(read_withdrawn(&s, 20 * ROUTES), 20 * ROUTES);
	wait_for(done(12) == 1);
	assert_true(change(1, policy_accept_all(), 13));
	wait_for(node_view(&n, 1).families[V4].advertised > 0);
	script_close(&s);
	wait_for(node_events(&n, SESSION_REFRESH_FAILED, 13) == 1 || done(13) == 1);
	assert_int_equal(node_events(&n, SESSION_REFRESH_FAILED, 13) + done(13), 1);
	node_end(&n);
}

/*
 * Two of four peers in a group get another policy: each job ends when its own peer has all routes.
 */
static void
test_export_job_apart(void **state)
{
	static struct script all[PEERS];

	node_begin(&n, OWN_AS, OWN_ID);
	originate(ROUTES, 1);
	for (unsigned i = 0; i < PEERS; i++) {
		struct config_peer c = peer_config(PEER_AS + i, OWN_AS, 2 + i);

		node_peer(&n, 1 + i, &c, policy_accept_all());
	}
	for (unsigned i = 0; i < PEERS; i++) {
		struct bgp_open_options o = script_open(PEER_AS + i, PEER_ID + i);

		establish(&all[i], 1 + i, &o);
		assert_int_equal(script_read_routes(&all[i], -1, NULL), ROUTES);
	}
	for (unsigned i = 0; i < PEERS; i++)
		assert_true(change(1 + i, i < 2 ? policy_deny_all() : policy_accept_all(), 20 + i));
	for (unsigned i = 0; i < PEERS; i++) {
		wait_for(done(20 + i) == 1);
		assert_int_equal(node_view(&n, 1 + i).families[V4].advertised, i < 2 ? 0 : ROUTES);
	}
	assert_int_equal(read_withdrawn(&all[0], ROUTES), ROUTES);
	assert_int_equal(read_withdrawn(&all[1], ROUTES), ROUTES);
	assert_int_equal(node_view(&n, 1).families[V4].group.members, 2);
	for (unsigned i = 0; i < PEERS; i++)
		script_close(&all[i]);
	node_end(&n);
}

/* ---- RFC 9003 ---- */

/*
 * Whole characters of at most 128 octets are sent; up to 255 received octets are shown completely.
 */
static void
test_reset_text(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct node_call call = {.id = {1}};
	char text[200], data[256], expected[300];

	memset(text, 'a', 127);
	snprintf(text + 127, sizeof(text) - 127,
		"\xc3\xa4"
		"bc");
	c.timers.idle_hold_s = 1;
	begin(&c);
	establish(&s, 1, &o);
	call.text = text;
	node_do(&n, call_reset, &call);
	script_expect_notification(&s, ERR_CEASE, CEASE_ADMIN_RESET);
	assert_int_equal(s.buf[BGP_HEADER_LEN + 2], 127); /* the next character has two octets */
	assert_int_equal(s.len, BGP_HEADER_LEN + 3 + 127);
	script_close(&s);
	establish(&s, 1, &o);
	data[0] = (char)255;
	memset(data + 1, 'b', 253);
	memcpy(data + 254, "\xc3\xa4", 2);
	script_send_notification(&s, ERR_CEASE, CEASE_ADMIN_SHUTDOWN, data, 256);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	snprintf(expected, sizeof(expected), "received cease/administrative-shutdown: \"%.255s\"",
		data + 1);
	assert_string_equal(node_view(&n, 1).last_error, expected);
	script_close(&s);
	node_end(&n);
}

/* ---- RFC 9072 ---- */

/* The usual OPEN with extended optional parameters, padded with unknown capabilities. */
static size_t
open_extended(uint8_t *msg, unsigned unknown)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	uint8_t plain[BGP_MSG_MAX], *at = msg + 29;
	size_t caps, all;

	bgp_open_encode(&o, plain, sizeof(plain));
	caps = plain[30]; /* length of the single parameter */
	all = caps + 252u * unknown;
	memcpy(msg, plain, 28);
	msg[28] = 255;
	*at++ = 255;
	*at++ = (uint8_t)((all + 3) >> 8);
	*at++ = (uint8_t)(all + 3);
	*at++ = 2;
	*at++ = (uint8_t)(all >> 8);
	*at++ = (uint8_t)all;
	memcpy(at, plain + 31, caps);
	at += caps;
	for (unsigned i = 0; i < unknown; i++) {
		*at++ = 239; /* RFC 8810 3: for experiments */
		*at++ = 250;
		memset(at, 0, 250);
		at += 250;
	}
	msg[16] = (uint8_t)((at - msg) >> 8);
	msg[17] = (uint8_t)(at - msg);
	return (size_t)(at - msg);
}

static void
test_extended_parameters(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint8_t msg[BGP_MSG_MAX];

	c.timers.idle_hold_s = 1;
	for (unsigned unknown = 0; unknown <= 15; unknown += 5) {
		begin(&c);
		script_greet(&s, &n, 2);
		script_send(&s, msg, open_extended(msg, unknown));
		script_send_keepalive(&s);
		wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
		assert_true(node_view(&n, 1).enhanced_route_refresh.negotiated);
		script_close(&s);
		node_end(&n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_routes), cmocka_unit_test(test_requests_join),
		cmocka_unit_test(test_requests_unframed),
		cmocka_unit_test(test_unframed_job_ends_with_the_answer),
		cmocka_unit_test(test_request_waits_for_room),
		cmocka_unit_test(test_keep_turned_on), cmocka_unit_test(test_export_job),
		cmocka_unit_test(test_export_job_apart), cmocka_unit_test(test_reset_text),
		cmocka_unit_test(test_extended_parameters),
		cmocka_unit_test(test_export_job_slow), /* last: slows the connection */
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
