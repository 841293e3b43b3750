/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own routes in BGP, with a real shard and next-hop feed on their threads: documents of an
 * operator, events as sent by the host thread; then the test reads the shard's table.
 */
#include "control/host/host_routes.h"

#include "control/config/config.h"
#include "control/base/layers.h"
#include "control/base/threads.h"
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/feed/fib_feed.h"
#include "rib/shard/shard.h"
#include "tests/control/config_test.h"
#include "tests/lpm/text.h"
#include "tests/lpm/tick.h"
#include "tests/rib/attr_of.h"

#include <pthread.h>

static struct layers l;
static struct host_routes *routes;
static struct shard *the_shard;
static struct config *now_config;

/* ---- a keeld of four threads, without sessions and without a data plane ---- */

static bool
rib_work(void *ctx, uint64_t now, uint64_t deadline)
{
	(void)ctx;
	role_enter_rib();
	return shard_work(the_shard, now, deadline);
}

static unsigned reader; /* the fib thread */

static int
fib_start(void *ctx, struct thread *self)
{
	(void)ctx;
	(void)self;
	return qsbr_register(l.readers, &reader);
}

static bool
fib_work(void *ctx, uint64_t now, uint64_t deadline)
{
	bool more;

	(void)ctx;
	role_enter_fib();
	more = fib_feed_work(l.feed, now, deadline);
	qsbr_quiescent(l.readers, reader);
	return more;
}

static void
fib_idle(void *ctx)
{
	(void)ctx;
	qsbr_offline(l.readers, reader);
}

static void
fib_busy(void *ctx)
{
	(void)ctx;
	qsbr_online(l.readers, reader);
}

static void
nothing_wakes(void *ctx)
{
	(void)ctx;
}

static bool
nothing_asks(void *ctx, const struct nexthop_message *m)
{
	(void)ctx;
	(void)m;
	return true;
}

static void
nothing_resolves(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted)
{
	(void)ctx;
	(void)port;
	(void)addr;
	(void)wanted;
}

/* A report of the fib thread on its way to main. */
struct told {
	struct thread_mail mail;
	struct vrf_id vrf;
	struct prefix prefix;
	bool up;
};

static void
main_told(void *arg)
{
	struct told *t = arg;

	role_enter_main();
	host_routes_static(routes, t->vrf, &t->prefix, t->up);
	free(t);
}

static void
static_changed(void *ctx, struct vrf_id vrf, const struct prefix *p, bool up)
{
	struct told *t = calloc(1, sizeof(*t));

	(void)ctx;
	assert_non_null(t);
	*t = (struct told){.vrf = vrf, .prefix = *p, .up = up};
	layers_send_main(&l, &t->mail, main_told, t);
}

static int
setup(void **state)
{
	struct shard_config shard = {
		.own_asn = 64512,
		.router_id = 1,
		.wake_consumers = nothing_wakes,
		.ask_next_hop = nothing_asks,
	};
	struct fib_feed_config feed = {
		.shards = &the_shard,
		.shard_count = 1,
		.batch_max = 64,
		.commit_interval_ns = 1000000,
		.resolve = nothing_resolves,
		.static_changed = static_changed,
	};
	struct thread_config rib = {.name = "rib", .work = rib_work},
			     fib = {.name = "fib",
				     .start = fib_start,
				     .work = fib_work,
				     .idle = fib_idle,
				     .busy = fib_busy},
			     main_thread = {.name = "main"};
	struct table_id table;

	(void)state;
	memset(&l, 0, sizeof(l));
	if (arena_create("test", &l.arena_control) != 0 ||
		qsbr_create(l.arena_control, 4, &l.readers) != 0)
		return -1;
	shard.arena = feed.arena = l.arena_control;
	shard.readers = l.readers;
	if (shard_create(&shard, 1, &the_shard) != 0 ||
		shard_table_add(the_shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &table) != 0 ||
		shard_table_add(the_shard, VRF_DEFAULT, FAMILY_IPV6_UNICAST, &table) != 0 ||
		nexthop_table_create(l.arena_control, nothing_asks, NULL, &l.nexthops) != 0)
		return -1;
	shards_init(&l.shards, &the_shard, 1);
	feed.nexthops = l.nexthops;
	if (fib_feed_create(&feed, &l.feed) != 0)
		return -1;
	if (host_routes_create(&l, &routes) != 0)
		return -1;
	host_routes_port(routes, VRF_DEFAULT, 0, zone_intern("pa"));
	host_routes_port(routes, VRF_DEFAULT, 1, zone_intern("pb"));
	role_enter_fib(); /* the fib thread does not exist yet */
	assert_int_equal(fib_feed_zone(l.feed, VRF_DEFAULT, zone_intern("pa"), 0), 0);
	assert_int_equal(fib_feed_zone(l.feed, VRF_DEFAULT, zone_intern("pb"), 1), 0);
	return thread_create(&rib, &l.rib_thread[0]) != 0 ||
	       thread_create(&fib, &l.fib_thread) != 0 ||
	       thread_create(&main_thread, &l.main_thread) != 0;
}

static int
teardown(void **state)
{
	struct thread *threads[] = {l.main_thread, l.rib_thread[0], l.fib_thread};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		thread_end(threads[i]);
	for (unsigned i = 0; i < 3; i++)
		thread_free(threads[i]);
	host_routes_destroy(routes);
	fib_feed_destroy(l.feed);
	nexthop_table_destroy(l.nexthops);
	shard_destroy(the_shard);
	qsbr_destroy(l.readers);
	config_free(now_config);
	now_config = NULL;
	if (arena_bytes(l.arena_control) != 0)
		return -1;
	arena_destroy(l.arena_control);
	return 0;
}

/* ---- calls of main ---- */

static void
main_apply(void *arg)
{
	struct config *next = arg;

	role_enter_main();
	assert_int_equal(host_routes_apply(routes, now_config, next), 0);
}

#define DOCUMENT                                                                                   \
	"{'router': {'asn': 64512, 'router_id': '192.0.2.1'},"                                     \
	" 'prefix_lists': [{'name': 'some', 'entries': [{'action': 'permit', 'prefix': "           \
	"'10.0.0.0/8', 'le': 32},"                                                                 \
	"   {'action': 'permit', 'prefix': '2001:db8::/32', 'le': 128}]}],"                        \
	" 'route_policies': [{'name': 'marked', 'nodes': [{'seq': 10, 'action': 'permit', "        \
	"'match': {'prefix_list': 'some'},"                                                        \
	"   'set': {'med': 77}}]}, {'name': 'tagged', 'nodes': [{'seq': 10, 'action': 'permit', "  \
	"'match': {'tag': 5}}]}],"

static void
commit(const char *rest)
{
	struct faults f = {0};
	char text[4096];
	json_t *document;
	struct config *next;

	snprintf(text, sizeof(text), "%s%s}", DOCUMENT, rest);
	document = document_of(text);
	next = config_parse(NULL, document, &f);
	print_faults(&f);
	assert_non_null(next);
	faults_fini(&f);
	json_decref(document);
	thread_call(l.main_thread, main_apply, next);
	config_free(now_config);
	now_config = next;
}

struct event {
	enum { CONNECTED, LINK, KERNEL } kind;
	struct prefix prefix;
	uint16_t port;
	bool present;
	uint64_t ports; /* ports of a kernel route, as bits */
};

static void
main_event(void *arg)
{
	const struct event *e = arg;

	role_enter_main();
	if (e->kind == CONNECTED)
		host_routes_connected(routes, VRF_DEFAULT, &e->prefix, e->port, e->present);
	else if (e->kind == LINK)
		host_routes_link(routes, e->port, e->present);
	else
		host_routes_kernel_route(routes, VRF_DEFAULT, &e->prefix, e->ports, e->present);
}

#define OTHER_PORT 5 /* always up */

/* The fib thread hears of the same events. */
static void
fib_event(void *arg)
{
	const struct event *e = arg;
	struct fib_feed_hop hops[8] = {{.port = OTHER_PORT}};
	struct ip_addr own = {.afi = e->prefix.afi};
	unsigned count = 0;

	role_enter_fib();
	memcpy(own.b, e->prefix.b, sizeof(own.b));
	own.b[own.afi == AFI_IPV4 ? 3 : 15] |= 1;
	if (e->kind == CONNECTED) {
		assert_int_equal(fib_feed_connected(l.feed, VRF_DEFAULT, &e->prefix, &own, e->port,
					 e->present),
			0);
		return;
	}
	if (e->kind == LINK) {
		if (e->present)
			fib_feed_port_up(l.feed, e->port);
		else
			fib_feed_port_down(l.feed, e->port, 0);
		return;
	}
	for (uint16_t p = 0; p < 8; p++)
		if (e->ports >> p & 1)
			hops[count++].port = p;
	(void)fib_feed_route(l.feed, VRF_DEFAULT, &e->prefix, SOURCE_KERNEL, hops,
		count > 0 ? count : 1, 0, e->present);
}

static void
event(struct event *e)
{
	thread_call(l.fib_thread, fib_event, e);
	thread_call(l.main_thread, main_event, e);
}

static void
connected(const char *prefix, uint16_t port, bool present)
{
	struct event e = {CONNECTED, pfx(prefix), port, present};

	event(&e);
}

static void
link_state(uint16_t port, bool up)
{
	struct event e = {.kind = LINK, .port = port, .present = up};

	event(&e);
}

static void
kernel(const char *prefix, bool present)
{
	struct event e = {.kind = KERNEL, .prefix = pfx(prefix), .present = present};

	event(&e);
}

static void
kernel_by(const char *prefix, uint64_t ports)
{
	struct event e = {.kind = KERNEL, .prefix = pfx(prefix), .present = true, .ports = ports};

	event(&e);
}

/* ---- contents of the shard ---- */

struct question {
	struct prefix prefix;
	char answer[64];
};

static void
rib_question(void *arg)
{
	struct question *q = arg;
	struct table_id table;
	struct dest_view view;
	struct dest_id id;
	const struct attr_set *a;
	static const char *const sources[] = {[SOURCE_CONNECTED] = "connected",
		[SOURCE_STATIC] = "static",
		[SOURCE_KERNEL] = "kernel",
		[SOURCE_NETWORK] = "network"};

	role_enter_rib();
	snprintf(q->answer, sizeof(q->answer), "none");
	assert_int_equal(
		shard_table_find(the_shard, VRF_DEFAULT,
			q->prefix.afi == AFI_IPV4 ? FAMILY_IPV4_UNICAST : FAMILY_IPV6_UNICAST,
			&table),
		0);
	id = dest_find(shard_table(the_shard, table), &q->prefix);
	if (id.v == DEST_NONE || !dest_peek(shard_table(the_shard, table), id, &view) ||
		view.paths == NULL)
		return;
	a = attr_of(shard_attrs(the_shard), view.paths->path[0].accepted);
	snprintf(q->answer, sizeof(q->answer), "%s %s %u",
		sources[rib_path_source(&view.paths->path[0])],
		a->origin == ORIGIN_IGP ? "igp" : "incomplete", a->has & ATTR_HAS_MED ? a->med : 0);
}

/* Events are gathered, so a change may take a moment; fails after a minute. */
static void
expect(const char *prefix, const char *want)
{
	struct question q = {.prefix = pfx(prefix)};
	uint64_t deadline = tick_deadline(300);

	do {
		thread_call(l.rib_thread[0], rib_question, &q);
		if (strcmp(q.answer, want) == 0)
			return;
	} while (tick(deadline));
	fail_msg("%s: %s instead of %s", prefix, q.answer, want);
}

/*
 * A timer of the main thread, armed after the timers that gather events, and therefore expiring
 * after them.
 */
static struct {
	struct timer timer;
	pthread_mutex_t lock;
	pthread_cond_t fired;
	bool over;
} gathered = {.lock = PTHREAD_MUTEX_INITIALIZER, .fired = PTHREAD_COND_INITIALIZER};

static void
gathered_fire(struct timer *t)
{
	(void)t;
	pthread_mutex_lock(&gathered.lock);
	gathered.over = true;
	pthread_cond_signal(&gathered.fired);
	pthread_mutex_unlock(&gathered.lock);
}

static void
gathered_arm(void *arg)
{
	(void)arg;
	gathered.timer.fire = gathered_fire;
	assert_int_equal(timer_arm(l.main_thread, &gathered.timer, 60000000), 0);
}

/* Checks that the entry stays: all events sent before have been evaluated. */
static void
expect_still(const char *prefix, const char *want)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 60;
	gathered.over = false;
	thread_call(l.main_thread, gathered_arm, NULL);
	pthread_mutex_lock(&gathered.lock);
	while (!gathered.over)
		assert_int_equal(
			pthread_cond_timedwait(&gathered.fired, &gathered.lock, &deadline), 0);
	pthread_mutex_unlock(&gathered.lock);
	expect(prefix, want);
}

/* ---- tests ---- */

static void
test_networks(void **state)
{
	(void)state;
	commit("'bgp': {'networks': [{'prefix': '198.51.100.0/24'}, {'prefix': "
	       "'2001:db8:1::/48'}]}");
	expect("198.51.100.0/24", "network igp 0");
	expect("2001:db8:1::/48", "network igp 0");
	commit("'bgp': {'networks': [{'prefix': '198.51.100.0/24'}, {'prefix': "
	       "'203.0.113.0/24'}]}");
	expect("203.0.113.0/24", "network igp 0");
	expect("2001:db8:1::/48", "none");
	expect("198.51.100.0/24", "network igp 0");
	commit("'bgp': {}");
	expect("198.51.100.0/24", "none");
}

static void
test_connected(void **state)
{
	(void)state;
	connected("10.1.0.0/24", 0, true); /* before the first configuration */
	commit("'bgp': {'redistribute': [{'source': 'connected', 'policy': 'marked'}]}");
	expect("10.1.0.0/24", "connected incomplete 77");
	connected("2001:db8:2::/64", 1, true);
	connected("192.0.2.0/24", 1, true); /* denied by the policy */
	connected("10.255.0.1/32", PORT_NONE, true); /* a loopback */
	expect("2001:db8:2::/64", "connected incomplete 77");
	expect("10.255.0.1/32", "connected incomplete 77");
	expect_still("192.0.2.0/24", "none");
	/* Two addresses in a subnet, and a subnet on two ports. */
	connected("10.1.0.0/24", 0, true);
	connected("10.1.0.0/24", 0, false);
	expect_still("10.1.0.0/24", "connected incomplete 77");
	connected("10.1.0.0/24", 1, true);
	link_state(0, false);
	expect_still("10.1.0.0/24", "connected incomplete 77");
	link_state(1, false);
	expect("10.1.0.0/24", "none");
	expect("2001:db8:2::/64", "none");
	expect("10.255.0.1/32", "connected incomplete 77");
	link_state(0, true);
	expect("10.1.0.0/24", "connected incomplete 77");
	connected("10.1.0.0/24", 0, false);
	connected("10.1.0.0/24", 1, false);
	expect("10.1.0.0/24", "none");
	/* A new policy evaluates existing routes. */
	commit("'bgp': {'redistribute': [{'source': 'connected'}]}");
	expect("10.255.0.1/32", "connected incomplete 0");
	expect("192.0.2.0/24", "none"); /* the port is down */
	link_state(1, true);
	expect("192.0.2.0/24", "connected incomplete 0");
	/* A route without redistribution is remembered and returns with redistribution. */
	commit("'bgp': {}");
	expect("192.0.2.0/24", "none");
	commit("'bgp': {'redistribute': [{'source': 'connected'}]}");
	expect("192.0.2.0/24", "connected incomplete 0");
}

static void
test_static(void **state)
{
	(void)state;
	commit("'static_routes': [{'prefix': '203.0.113.0/24', 'next_hop': '10.1.0.9'},"
	       " {'prefix': '198.51.100.0/24', 'next_hop': '203.0.113.1', 'tag': 5}, {'prefix': "
	       "'10.66.0.0/16', 'blackhole': true},"
	       " {'prefix': '10.67.0.0/16', 'next_hop': '10.66.0.1'}, {'prefix': '10.68.0.0/16', "
	       "'next_hop': '10.68.0.1'}],"
	       " 'bgp': {'redistribute': [{'source': 'static'}]}");
	expect("10.66.0.0/16", "static incomplete 0");
	expect("203.0.113.0/24", "none"); /* the next hop is unreachable */
	connected("10.1.0.0/24", 0, true);
	expect("203.0.113.0/24", "static incomplete 0");
	expect("198.51.100.0/24", "static incomplete 0"); /* by the second next hop */
	expect("10.67.0.0/16", "static incomplete 0"); /* through the blackhole */
	expect("10.68.0.0/16", "none"); /* through itself */
	expect("10.1.0.0/24", "none"); /* not redistributed */
	link_state(0, false);
	expect("203.0.113.0/24", "none");
	expect("198.51.100.0/24", "none");
	kernel("10.1.0.0/16", true);
	expect("203.0.113.0/24", "static incomplete 0");
	kernel("10.1.0.0/16", false);
	expect("203.0.113.0/24", "none");
	/* A default route resolves next hops only if configured. */
	kernel("0.0.0.0/0", true);
	expect_still("203.0.113.0/24", "none");
	commit("'static_routes': [{'prefix': '203.0.113.0/24', 'next_hop': '10.1.0.9', 'tag': 5},"
	       " {'prefix': '10.66.0.0/16', 'blackhole': true}],"
	       " 'bgp': {'resolve_via_default': true, 'redistribute': [{'source': 'static', "
	       "'policy': 'tagged'}]}");
	expect("203.0.113.0/24", "static incomplete 0");
	expect("10.66.0.0/16", "none"); /* without the tag */
	expect("198.51.100.0/24", "none");
}

/* A link-local next hop resolves as long as its port. */
static void
test_static_link_local(void **state)
{
	(void)state;
	commit("'ports': [{'name': 'pa', 'device': 'net_null0'}, {'name': 'pb', 'device': "
	       "'net_null1'}],"
	       " 'static_routes': [{'prefix': '2001:db8:5::/48', 'next_hop': 'fe80::9%pb'}], "
	       "'bgp': {'redistribute': [{'source': 'static'}]}");
	expect("2001:db8:5::/48", "static incomplete 0");
	link_state(0, false);
	expect_still("2001:db8:5::/48", "static incomplete 0");
	link_state(1, false);
	expect("2001:db8:5::/48", "none");
	link_state(1, true);
	expect("2001:db8:5::/48", "static incomplete 0");
}

/* The kernel keeps its routes when a link loses its carrier. */
static void
test_kernel_link(void **state)
{
	(void)state;
	commit("'static_routes': [{'prefix': '203.0.113.0/24', 'next_hop': '10.9.0.9'}],"
	       " 'bgp': {'redistribute': [{'source': 'kernel'}, {'source': 'static'}]}");
	kernel_by("10.9.0.0/16", 1);
	kernel_by("10.8.0.0/16", 3);
	kernel("10.7.0.0/16", true);
	expect("10.9.0.0/16", "kernel incomplete 0");
	expect("203.0.113.0/24", "static incomplete 0");
	link_state(0, false);
	expect("10.9.0.0/16", "none");
	expect("203.0.113.0/24", "none");
	expect_still("10.8.0.0/16", "kernel incomplete 0"); /* still by the other port */
	link_state(1, false);
	expect("10.8.0.0/16", "none");
	expect_still("10.7.0.0/16", "kernel incomplete 0"); /* a blackhole */
	kernel_by("10.9.0.0/16", 4); /* replaced by a route on another port */
	expect("10.9.0.0/16", "kernel incomplete 0");
	link_state(0, true);
	expect("10.8.0.0/16", "kernel incomplete 0");
	kernel("10.8.0.0/16", false);
	expect("10.8.0.0/16", "none");
}

/* Each prefix has one attribute set: the network's first, then the preferred source's. */
static void
test_who_wins(void **state)
{
	(void)state;
	connected("10.1.0.0/24", 0, true);
	kernel("10.1.0.0/24", true);
	kernel("2001:db8:9::/48", true);
	commit("'bgp': {'redistribute': [{'source': 'kernel', 'policy': 'marked'}, {'source': "
	       "'connected'}, {'source': 'static'}]}");
	expect("10.1.0.0/24", "connected incomplete 0");
	expect("2001:db8:9::/48", "kernel incomplete 77");
	link_state(0, false);
	expect("10.1.0.0/24", "kernel incomplete 77");
	commit("'static_routes': [{'prefix': '10.1.0.0/24', 'blackhole': true}],"
	       " 'bgp': {'redistribute': [{'source': 'kernel', 'policy': 'marked'}, {'source': "
	       "'connected'}, {'source': 'static'}]}");
	expect("10.1.0.0/24", "static incomplete 0");
	commit("'static_routes': [{'prefix': '10.1.0.0/24', 'blackhole': true}], 'bgp': "
	       "{'networks': [{'prefix': '10.1.0.0/24'}],"
	       " 'redistribute': [{'source': 'kernel', 'policy': 'marked'}, {'source': "
	       "'static'}]}");
	expect("10.1.0.0/24", "network igp 0");
	kernel("10.1.0.0/24", false);
	link_state(0, true);
	expect_still("10.1.0.0/24", "network igp 0");
	commit("'bgp': {'preference': {'kernel': 0, 'connected': 5}, 'redistribute': [{'source': "
	       "'kernel', 'policy': 'marked'},"
	       " {'source': 'connected'}]}");
	expect("10.1.0.0/24", "connected incomplete 0");
	kernel("10.1.0.0/24", true);
	expect("10.1.0.0/24", "kernel incomplete 77");
}

/* Many routes added and removed at once; no entry remains. */
static void
test_many(void **state)
{
	char prefix[32];

	(void)state;
	commit("'bgp': {'redistribute': [{'source': 'kernel'}]}");
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i >> 8, i & 255);
		kernel(prefix, true);
	}
	expect("10.19.135.0/24", "kernel incomplete 0");
	expect("10.0.0.0/24", "kernel incomplete 0");
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i >> 8, i & 255);
		kernel(prefix, false);
	}
	expect("10.19.135.0/24", "none");
	expect("10.0.0.0/24", "none");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connected, setup, teardown),
		cmocka_unit_test_setup_teardown(test_static, setup, teardown),
		cmocka_unit_test_setup_teardown(test_static_link_local, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	role_enter_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
