/* SPDX-License-Identifier: BSD-3-Clause */
/* Slow peers: which of two receivers is slow, when it is slow no more, and a late session thread. */
#include "control/session/session.h"
#include "control/session/slow_peer.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#include <semaphore.h>

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST
#define NS_PER_S UINT64_C(1000000000)
/* 54 octets each: more than the buffers of a connection hold. */
#define ROUTES 8000u

static struct node n;
static struct script reads, stands;
static uint32_t change; /* of the routes: another MED */

static void
call_routes(void *arg)
{
	(void)arg;
	role_enter_rib();
	for (unsigned i = 0; i < ROUTES; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 24);
		struct attr_set own;

		memset(&own, 0, sizeof(own));
		own.next_hop = addr_from_v4(NEXT_HOP);
		own.has = ATTR_HAS_MED;
		own.med = change + i; /* its own message */
		assert_int_equal(shard_originate(n.shard, VRF_DEFAULT, V4, &p, &own), 0);
	}
}

static struct config_peer
limited(unsigned last, uint32_t absolute_s, uint32_t relative_s)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, last);

	c.slow_peer = (struct config_slow_peer){absolute_s, relative_s, 3600};
	return c;
}

static void
greet(struct script *s, unsigned last, int rcvbuf)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID + last);

	script_connect(s, &n, last, rcvbuf);
	script_send_open(s, &o);
	assert_non_null(script_read(s, WAIT_MS));
	assert_int_equal(s->type, BGP_OPEN);
	assert_non_null(script_read(s, WAIT_MS));
	assert_int_equal(s->type, BGP_KEEPALIVE);
	script_send_keepalive(s);
	wait_for(node_view(&n, last - 1).state == FSM_ESTABLISHED);
}

static bool
is_slow(unsigned id)
{
	bool before = node_view(&n, id).families[V4].slow,
	     published = speaker_is_slow(n.speaker, (struct peer_id){(uint16_t)id}, V4),
	     slow = node_view(&n, id).families[V4].slow;

	assert_true(published == before || published == slow);
	return slow;
}

/* The reason of the newest event about slow peers. */
static const char *
last_reason(enum session_event_kind kind, unsigned id)
{
	const char *reason = NULL;

	pthread_mutex_lock(&n.lock);
	for (unsigned i = 0; i < n.event_count; i++)
		if (n.event[i].kind == SESSION_SLOW || n.event[i].kind == SESSION_SLOW_END) {
			assert_int_equal(n.event[i].peer.v, id);
			assert_int_equal(n.event[i].family, V4);
			reason = n.event[i].kind == kind ? n.event[i].reason : NULL;
		}
	pthread_mutex_unlock(&n.lock);
	assert_non_null(reason);
	return reason;
}

static void
node_start(void)
{
	node_begin(&n, OWN_AS, OWN_ID);
	thread_call(n.rib[0], call_routes, NULL);
	thread_wake(n.rib[0]);
}

static void
test_relative(void **state)
{
	struct config_peer c = limited(2, 0, 1), d = limited(3, 0, 1);
	struct session_policies policies = {
		.export_policy = {policy_accept_all()}, .has_import = {true}};
	struct node_call call = {.n = &n, .id = {2}, .config = &d, .policies = &policies};

	node_start();
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	greet(&reads, 2, 0);
	assert_int_equal(script_read_routes(&reads, -1, NULL), ROUTES);
	greet(&stands, 3, 4096);
	wait_for(is_slow(2));
	assert_false(is_slow(1));
	assert_int_equal(node_view(&n, 2).families[V4].slow_count, 1);
	assert_string_equal(last_reason(SESSION_SLOW, 2), "relative");
	/* The peer reads, and stays caught up. */
	assert_int_equal(script_read_routes(&stands, -1, NULL), ROUTES);
	wait_for(!is_slow(2));
	assert_string_equal(last_reason(SESSION_SLOW_END, 2), "caught-up");

	/* A refresh that the peer does not read, and a lost session. */
	script_send_refresh(&stands, REFRESH_REQUEST);
	script_send_refresh(&reads, REFRESH_REQUEST);
	assert_int_equal(script_read_routes(&reads, REFRESH_BEGIN, NULL), 0);
	assert_int_equal(script_read_routes(&reads, REFRESH_END, NULL), ROUTES);
	wait_for(is_slow(2));
	script_close(&stands);
	wait_for(node_view(&n, 2).state != FSM_ESTABLISHED);
	assert_false(is_slow(2));
	assert_string_equal(last_reason(SESSION_SLOW_END, 2), "session-down");
	assert_int_equal(node_view(&n, 2).families[V4].slow_count, 2);
	assert_false(is_slow(1));

	/* Limits that a commit turns off and on again. */
	greet(&stands, 3, 4096);
	wait_for(is_slow(2));
	d.slow_peer.relative_s = 0;
	node_do(&n, call_update, &call);
	wait_for(!is_slow(2));
	assert_string_equal(last_reason(SESSION_SLOW_END, 2), "limits-off");
	d.slow_peer.absolute_s = 1;
	node_do(&n, call_update, &call);
	wait_for(is_slow(2));
	assert_string_equal(last_reason(SESSION_SLOW, 2), "absolute");
	assert_int_equal(node_view(&n, 2).established_count, 2);
	script_close(&stands);
	script_close(&reads);
	node_end(&n);
}

/* The only member of a group is behind no other peer. Without memory for the events, no flag is set. */
static void
test_alone(void **state)
{
	struct config_peer c = limited(2, 2, 1);

	node_start();
	node_peer(&n, 1, &c, policy_accept_all());
	greet(&stands, 2, 4096);
	n.no_memory = true;
	wait_for(n.refused > 0);
	assert_false(is_slow(1));
	n.no_memory = false;
	wait_for(is_slow(1));
	assert_string_equal(last_reason(SESSION_SLOW, 1), "absolute");
	assert_int_equal(node_view(&n, 1).families[V4].slow_count, 1);
	script_close(&stands);
	node_end(&n);
}

static struct {
	struct timer timer;
	sem_t fired;
} turn;

static void
turn_fire(struct timer *t)
{
	(void)t;
	sem_post(&turn.fired);
}

static void
call_turn(void *arg)
{
	(void)arg;
	turn.timer.fire = turn_fire;
	assert_int_equal(timer_arm(n.session, &turn.timer, 0), 0);
}

/* Waits until the session thread has fired every timer that is due now. */
static void
wait_turn(void)
{
	assert_int_equal(sem_init(&turn.fired, 0, 0), 0);
	assert_int_equal(thread_call(n.session, call_turn, NULL), 0);
	sem_wait(&turn.fired);
}

/* Waits until the connection accepts nothing. A time at or before the beginning. */
static uint64_t
wait_full(void)
{
	uint64_t sent = 0, since = now_ns(), at = since;

	while (sent == 0 || now_ns() - since < NS_PER_S / 10) {
		uint64_t look = now_ns(), more = node_view(&n, 2).updates_sent;

		if (more != sent)
			since = at;
		sent = more;
		at = look;
		poll(NULL, 0, 10);
	}
	return since;
}

/*
 * A member with a full connection asks for a refresh, and its group has other members. ASan builds
 * check after each pass over the peers that no peer is left out (export_check()).
 */
static void
test_refresh_by_a_full_peer(void **state)
{
	struct config_peer c = limited(2, 0, 0), d = limited(3, 0, 0);

	(void)state;
	node_start();
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	greet(&reads, 2, 0);
	assert_int_equal(script_read_routes(&reads, -1, NULL), ROUTES);
	greet(&stands, 3, 4096);
	assert_int_equal(script_read_routes(&stands, -1, NULL), ROUTES);
	change += ROUTES;
	assert_int_equal(thread_call(n.rib[0], call_routes, NULL), 0);
	thread_wake(n.rib[0]);
	wait_full();
	script_send_refresh(&reads, REFRESH_REQUEST);
	script_read_routes(&reads, REFRESH_BEGIN, NULL); /* the new routes */
	/* all routes, and those of the new ones that were not sent before the refresh began */
	assert_in_range(script_read_routes(&reads, REFRESH_END, NULL), ROUTES, 2 * ROUTES);
	script_send_refresh(&stands, REFRESH_REQUEST);
	wait_for(node_view(&n, 2).families[V4].requests_received == 1);
	wait_turn();
	script_close(&stands);
	script_close(&reads);
	node_end(&n);
}

#define LATE_LIMIT_S 2u
#define LATE_ATTEMPTS 40u

/* A history of one peer: the connection stands for stood_ns, and then the thread is late. */
struct late {
	uint64_t stood_ns, late_ns;
	/* A delay before: the look after the delay sends all that the socket takes. */
	uint64_t before_ns;
	bool reads; /* the peer reads meanwhile */
	sem_t begun, read;
};

static void
call_delay(void *arg)
{
	const uint64_t *ns = arg;
	struct timespec t = {.tv_sec = (time_t)(*ns / NS_PER_S), .tv_nsec = (long)(*ns % NS_PER_S)};

	nanosleep(&t, NULL);
}

static void
call_late(void *arg)
{
	struct late *l = arg;

	sem_post(&l->begun);
	call_delay(&l->late_ns);
	if (l->reads)
		sem_wait(&l->read);
}

static void *
late(void *arg)
{
	thread_call(n.session, call_late, arg);
	return NULL;
}

/* Reads until nothing has come for a moment. */
static void
read_all(struct script *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	uint8_t buf[65536];

	while (poll(&p, 1, 100) > 0)
		assert_true(recv(s->fd, buf, sizeof(buf), 0) > 0);
}

/* True if the peer is slow after the history. The machine may be too slow for the history: once more. */
static bool
slow_after(struct late *l)
{
	for (unsigned i = 0; i < LATE_ATTEMPTS; i++) {
		uint64_t since;
		pthread_t thread;
		bool slow, timely;

		assert_int_equal(sem_init(&l->begun, 0, 0), 0);
		assert_int_equal(sem_init(&l->read, 0, 0), 0);
		greet(&stands, 3, 4096);
		since = wait_full();
		while (now_ns() - since < l->stood_ns)
			poll(NULL, 0, 10);
		assert_int_equal(thread_call(n.session, call_delay, &l->before_ns), 0);
		wait_turn();
		assert_int_equal(pthread_create(&thread, NULL, late, l), 0);
		sem_wait(&l->begun);
		timely = now_ns() - since < LATE_LIMIT_S * NS_PER_S - SLOW_LOOK_NS;
		if (l->reads)
			read_all(&stands);
		sem_post(&l->read);
		assert_int_equal(pthread_join(thread, NULL), 0);
		wait_turn(); /* the look that the delay has made late */
		slow = is_slow(2);
		script_close(&stands);
		wait_for(node_view(&n, 2).state != FSM_ESTABLISHED);
		if (timely)
			return slow;
	}
	fail_msg("the machine was late in every attempt");
	return false;
}

/* A late session thread: the delay is not the peer's. */
static void
test_late(void **state)
{
	struct config_peer c = limited(2, LATE_LIMIT_S, LATE_LIMIT_S),
			   d = limited(3, LATE_LIMIT_S, LATE_LIMIT_S);
	/*
	 * The peer reads during a delay that counts in full: the look sends first, and sees that
	 * the connection has moved. A delay beyond SLOW_LATE_NS counts as one interval.
	 */
	struct late moved = {
		.stood_ns = 16 * NS_PER_S / 10, .late_ns = 7 * NS_PER_S / 10, .reads = true};
	struct late longer = {.before_ns = 6 * NS_PER_S / 10, .late_ns = 3 * NS_PER_S};

	(void)state;
	node_start();
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	assert_false(slow_after(&moved));
	assert_false(slow_after(&longer));
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relative),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_refresh_by_a_full_peer),
		cmocka_unit_test(test_late),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
