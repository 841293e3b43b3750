/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that sends a steady stream of UPDATEs is polled: polling begins and ends, loses nothing,
 * stops while no shard takes input, and notices the end of the connection. A fast stream is not
 * polled.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define NEXT_HOP 0xc0000263u
#define FIRST 0x0a000000u

static struct node n;
static struct script peer;
static uint32_t sent; /* UPDATEs, with one prefix each */

static void
call_streams(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = (int)speaker_streams(c->n->speaker);
}

static unsigned
streams(void)
{
	struct node_call c = {.n = &n};

	thread_call(n.session, call_streams, &c);
	return (unsigned)c.result;
}

static void
begin(void)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, 0xc0000302u);

	sent = 0;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&peer, &n, 2, &o);
	script_send_end_of_rib(&peer, FAMILY_IPV4_UNICAST);
	wait_for(node_view(&n, 1).updates_received == 1);
}

static void
send_one(void)
{
	union script_attrs attrs;

	script_attrs(&attrs, PEER_AS, NEXT_HOP);
	script_send_update(&peer, &attrs.a, FIRST + sent++ * 256, 1);
}

static bool
all_arrived(void)
{
	return node_paths(&n, FIRST + (sent - 1) * 256, 24) == 1;
}

/* Sends small UPDATEs, each after a short pause, until the connection is polled. */
static void
stream_begin(void)
{
	uint64_t until = now_ns() + WAIT_MS * 1000000ull;
	struct timespec pause = {.tv_nsec = 100000};

	while (streams() == 0) {
		assert_true(now_ns() < until);
		for (unsigned i = 0; i < 20; i++) {
			send_one();
			nanosleep(&pause, NULL);
		}
	}
}

static void
test_begins_and_ends(void **state)
{
	begin();
	send_one();
	wait_for(all_arrived());
	assert_int_equal(streams(), 0);
	stream_begin();
	wait_for(all_arrived());
	wait_for(streams() == 0);
	for (unsigned i = 0; i < 3; i++) {
		send_one();
		wait_for(all_arrived());
	}
	assert_int_equal(node_view(&n, 1).updates_received, sent + 1);
	script_close(&peer);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	node_end(&n);
}

static void
call_ended(void *arg)
{
	struct node_call *c = arg;

	call_view(c);
	c->job = speaker_streams(c->n->speaker);
}

/* The connection leaves the polled connections with the session, whichever side ends it. */
static bool
ended(void)
{
	struct session_view v;
	struct node_call c = {.n = &n, .id = {1}, .view = &v};

	thread_call(n.session, call_ended, &c);
	assert_true(v.state == FSM_ESTABLISHED || c.job == 0);
	return v.state != FSM_ESTABLISHED;
}

static void
test_ends(void **state)
{
	const uint8_t garbage[BGP_HEADER_LEN] = {0};

	begin();
	stream_begin();
	script_close(&peer);
	wait_for(ended());
	node_end(&n);

	begin();
	stream_begin();
	script_send(&peer, garbage, sizeof(garbage));
	wait_for(ended());
	script_close(&peer);
	node_end(&n);
}

/* Reading stops while the shard takes no input, and continues afterwards. */
static void
test_stands_still(void **state)
{
	/* more than the runs of a shard and the buffer of the connection take, and less than blocks send() */
	const unsigned more = 12000;

	begin();
	stream_begin();
	atomic_store(&n.paused_shards, 1);
	for (unsigned i = 0; i < more; i++)
		send_one();
	wait_for(streams() == 0);
	atomic_store(&n.paused_shards, 0);
	node_wake_shards(&n);
	wait_for(all_arrived());
	wait_for(node_view(&n, 1).updates_received == sent + 1);
	script_close(&peer);
	node_end(&n);
}

/* A fast stream stays with epoll: a poll would read more than 8 KiB. */
static void
test_fast_stream(void **state)
{
	uint64_t until = now_ns() + WAIT_MS * 1000000ull;
	union script_attrs attrs;

	begin();
	script_attrs(&attrs, PEER_AS, NEXT_HOP);
	for (unsigned i = 0; i < 200; i++) {
		/* some 7 KB, read before more follows: even every 2 ms, 14 KB in the time of a poll */
		script_send_update(&peer, &attrs.a, FIRST, 900);
		script_send_update(&peer, &attrs.a, FIRST, 900);
		while (node_view(&n, 1).updates_received < 2 * i + 3)
			assert_true(now_ns() < until);
		assert_int_equal(streams(), 0);
	}
	script_close(&peer);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begins_and_ends),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_stands_still),
		cmocka_unit_test(test_fast_stream),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
