/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Export of several sessions in a group: simultaneous requests, counters, min_advertisement_s, a
 * commit of another policy.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define NEXT_HOP 0xc0000263u
#define PEERS 6u
#define ROUTES 2000u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script script[PEERS];

static struct attr_set
own_attrs(uint32_t med)
{
	struct attr_set a;

	memset(&a, 0, sizeof(a));
	a.next_hop = addr_from_v4(NEXT_HOP);
	a.has = ATTR_HAS_MED;
	a.med = med;
	return a;
}

static void
begin(unsigned peers, uint32_t min_advertisement_s)
{
	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned i = 0; i < peers; i++) {
		struct config_peer c = peer_config(65001 + i, OWN_AS, 2 + i);

		c.timers.min_advertisement_s = min_advertisement_s;
		node_peer(&n, 1 + i, &c, policy_accept_all());
	}
}

static void
establish(unsigned peers)
{
	for (unsigned i = 0; i < peers; i++) {
		struct bgp_open_options o = script_open(65001 + i, 0xc0000302u + i);

		script_establish(&script[i], &n, 2 + i, &o);
	}
	for (unsigned i = 0; i < peers; i++)
		(void)script_read_routes(&script[i], -1, NULL);
}

static void
end(unsigned peers)
{
	for (unsigned i = 0; i < peers; i++)
		script_close(&script[i]);
	node_end(&n);
}

/*
 * Several peers send three requests each at once: complete answers for all peers, and no request is
 * lost.
 */
static void
test_requests_at_once(void **state)
{
	begin(PEERS, 0);
	for (unsigned i = 0; i < ROUTES; i++) {
		struct attr_set a = own_attrs(i / 8);

		node_originate(&n, 0x0a000000 + i * 256, 24, &a);
	}
	establish(PEERS);
	for (unsigned i = 0; i < PEERS; i++) {
		for (unsigned k = 0; k < 3; k++)
			script_send_refresh(&script[i], REFRESH_REQUEST);
	}
	for (unsigned i = 0; i < PEERS; i++) {
		struct session_view v;
		unsigned walks = 0;

		wait_for(node_view(&n, 1 + i).families[V4].requests_received == 3);
		do {
			assert_int_equal(script_read_routes(&script[i], REFRESH_BEGIN, NULL), 0);
			assert_int_equal(script_read_routes(&script[i], REFRESH_END, NULL), ROUTES);
			walks++;
			v = node_view(&n, 1 + i);
			/* requests not yet counted are answered by one more walk */
		} while (walks < v.families[V4].served ||
			 v.families[V4].served + v.families[V4].coalesced < 3);
		wait_for(node_view(&n, 1 + i).families[V4].eorr_sent == walks);
		v = node_view(&n, 1 + i);
		assert_int_equal(v.families[V4].served, walks);
		assert_int_equal(v.families[V4].served + v.families[V4].coalesced, 3);
		assert_int_equal(v.families[V4].borr_sent, walks);
		assert_int_equal(v.families[V4].advertised, ROUTES);
	}
	end(PEERS);
}

/* Changes in sequence, without another thread in between. */
static void
call_changes(void *arg)
{
	struct node *node = arg;
	struct node_call c = {
		.n = node, .shard = node->shard, .prefix = prefix_from_v4(0x0a000000, 24)};

	for (uint32_t i = 3; i < 20; i++) {
		struct attr_set a = own_attrs(i);

		c.attrs = &a;
		call_originate(&c);
		assert_int_equal(c.result, 0);
	}
}

/*
 * RFC 4271 9.2.1.1: changes within the interval are advertised together at its end; without an
 * interval changes are advertised at once.
 */
static void
test_min_advertisement(void **state)
{
	struct attr_set a = own_attrs(1);
	uint64_t first;
	uint32_t med = 0;

	begin(1, 1);
	node_originate(&n, 0x0a000000, 24, &a);
	establish(1);
	wait_for(node_view(&n, 1).families[V4].end_of_rib_sent);
	breathe();
	a = own_attrs(2);
	first = now_ns();
	node_originate(&n, 0x0a000000, 24, &a);
	script_read_routes(&script[0], -1, &med);
	assert_int_equal(med, 2);
	thread_call(n.rib[0], call_changes, &n);
	thread_wake(n.rib[0]);
	script_read_routes(&script[0], -1, &med);
	assert_int_equal(med, 19); /* only the newest value */
	assert_true(now_ns() - first > 800000000u);
	end(1);
}

struct policies_call {
	struct session_policies p;
	unsigned peer;
};

static void
call_policies(void *arg)
{
	struct policies_call *c = arg;

	role_enter_session();
	session_export_policies(n.speaker, (struct peer_id){(uint16_t)c->peer}, &c->p);
}

/*
 * A commit updates the peers in sequence; two of six get a different policy. All peers receive the
 * routes of their policy, and sessions stay up.
 */
static void
test_policies_apart(void **state)
{
	struct attr_set a = own_attrs(1);

	begin(PEERS, 0);
	node_originate(&n, 0x0a000000, 24, &a);
	establish(PEERS);
	for (unsigned i = 0; i < 2; i++) {
		struct policies_call c = {
			.p = {.export_policy[V4] = policy_deny_all()}, .peer = 1 + i};

		thread_call(n.session, call_policies, &c);
	}
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *p = script_next(&script[i]);

		assert_non_null(p);
		assert_int_equal(script[i].type, BGP_UPDATE);
		wait_for(node_view(&n, 1 + i).families[V4].advertised == 0);
	}
	a = own_attrs(2);
	node_originate(&n, 0x0a000000, 24, &a);
	for (unsigned i = 2; i < PEERS; i++) {
		uint32_t med = 0;

		script_read_routes(&script[i], -1, &med);
		assert_int_equal(med, 2); /* no intermediate state: only differences are sent */
		assert_int_equal(node_view(&n, 1 + i).families[V4].advertised, 1);
	}
	for (unsigned i = 0; i < PEERS; i++) {
		assert_int_equal(node_view(&n, 1 + i).state, FSM_ESTABLISHED);
		assert_int_equal(node_view(&n, 1 + i).established_count, 1);
	}
	end(PEERS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_at_once),
		cmocka_unit_test(test_min_advertisement),
		cmocka_unit_test(test_policies_apart),
	};

	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
