/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mirror and the guard against the real kernel, in a separate network namespace. Needs root.
 * `p1` is the port, `p0` its far end in the same namespace (without addresses, so the kernel
 * answers no request for `p0`).
 */
#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "control/base/zones.h"
#include "control/host/vlan_offload.h"
#include "lpm/base/arena.h"
#include "lpm/base/prefix.h"
#include "tests/lpm/text.h"
#include "tests/lpm/tick.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 3

static struct arena *arena;
static struct netlink *mirror;
static const char *state_dir;
static struct thread *host;

/* Last values from the callbacks. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool link_up;
	unsigned link_calls, address_calls, neighbor_calls;
	struct prefix subnet;
	struct ip_addr local;
	bool address_present, local_when_lost;
	struct ip_addr neighbor;
	bool neighbor_up;
	uint8_t mac[6];
	/* IPv6 of the port, kept separately */
	struct ip_addr local6, neighbor6;
	struct prefix subnet6;
	bool address6_present, neighbor6_up;
	/* host addresses of lo and keel0 */
	struct prefix host;
	bool host_present;
	unsigned host_calls;
	struct ip_addr anycast;
	bool anycast_present;
	unsigned anycast_calls;
	int anycast_claims; /* as the fib thread counts */
	/* current routes of the kernel's table */
	struct heard_route {
		struct prefix prefix;
		struct netlink_hop hop[PATHS_MAX];
		unsigned count;
		uint32_t metric;
	} route[64];
	unsigned route_count, route_calls;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void
heard_unlock(void)
{
	pthread_cond_signal(&heard.more);
	pthread_mutex_unlock(&heard.lock);
}

static void
on_address(void *ctx, struct vrf_id vrf, uint16_t port, const struct prefix *subnet,
	const struct ip_addr *local, bool present)
{
	(void)ctx;
	if (vrf.v != 0)
		return;
	pthread_mutex_lock(&heard.lock);
	if (port == PORT_NONE) {
		heard.host = *subnet;
		heard.host_present = present;
		heard.host_calls++;
	} else if (local->afi == AFI_IPV6) {
		heard.local6 = *local;
		heard.subnet6 = *subnet;
		heard.address6_present = present;
	}
	if (port != PORT || local->afi != AFI_IPV4) {
		heard_unlock();
		return;
	}
	heard.local_when_lost = !present && netlink_is_local(mirror, vrf, local);
	heard.address_calls++;
	heard.subnet = *subnet;
	heard.local = *local;
	heard.address_present = present;
	heard_unlock();
}

static void
on_anycast(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr, bool present,
	bool again)
{
	(void)ctx;
	if (vrf.v != 0 || port != PORT)
		return;
	pthread_mutex_lock(&heard.lock);
	heard.anycast = *addr;
	heard.anycast_present = present;
	heard.anycast_calls++;
	heard.anycast_claims += present ? !again : -1;
	heard_unlock();
}

static void
on_neighbor(void *ctx, struct vrf_id vrf, uint16_t port, const struct ip_addr *addr,
	const uint8_t mac[6])
{
	(void)ctx;
	if (vrf.v != 0 || port != PORT)
		return;
	pthread_mutex_lock(&heard.lock);
	if (addr->afi == AFI_IPV6) {
		heard.neighbor6 = *addr;
		heard.neighbor6_up = mac != NULL;
		heard_unlock();
		return;
	}
	heard.neighbor_calls++;
	heard.neighbor = *addr;
	heard.neighbor_up = mac != NULL;
	if (mac != NULL)
		memcpy(heard.mac, mac, 6);
	heard_unlock();
}

static void
on_link(void *ctx, uint16_t port, bool up, uint64_t event_ns)
{
	(void)event_ns;
	(void)ctx;
	if (port != PORT)
		return;
	pthread_mutex_lock(&heard.lock);
	heard.link_calls++;
	heard.link_up = up;
	heard_unlock();
}

static _Atomic unsigned changed_calls;
static _Atomic bool changed_answer;

static bool
on_changed(void *ctx, uint16_t port)
{
	bool answer;

	(void)ctx;
	pthread_mutex_lock(&heard.lock);
	changed_calls += port == PORT;
	/*
	 * Read under the lock: a test that awaits this call may set the next answer right after the
	 * unlock.
	 */
	answer = changed_answer;
	heard_unlock();
	return answer;
}

static struct heard_route *
heard_route(const struct prefix *p)
{
	for (unsigned i = 0; i < heard.route_count; i++)
		if (prefix_equal(&heard.route[i].prefix, p))
			return &heard.route[i];
	return NULL;
}

static void
on_route(void *ctx, struct vrf_id vrf, const struct prefix *p, const struct netlink_hop *hops,
	unsigned count, uint32_t metric, bool present)
{
	struct heard_route *r;

	(void)ctx;
	pthread_mutex_lock(&heard.lock);
	heard.route_calls++;
	r = heard_route(p);
	if (vrf.v != 0 || heard.route_count == 64 || (r == NULL && !present)) {
		heard.route_calls += 1000000; /* makes every test fail */
	} else if (!present) {
		*r = heard.route[--heard.route_count];
	} else {
		if (r == NULL)
			r = &heard.route[heard.route_count++];
		*r = (struct heard_route){.prefix = *p, .count = count, .metric = metric};
		memcpy(r->hop, hops, count * sizeof(hops[0]));
	}
	heard_unlock();
}

static void
run(const char *command)
{
	int rc = system(command);

	if (rc != 0)
		fail_msg("%s: exit %d", command, rc);
}

static unsigned
route_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&heard.lock);
	n = heard.route_calls;
	pthread_mutex_unlock(&heard.lock);
	return n;
}

static unsigned
neighbor_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&heard.lock);
	n = heard.neighbor_calls;
	pthread_mutex_unlock(&heard.lock);
	return n;
}

/* Waits until `condition` holds under the lock; fails after a minute. */
#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		bool in_time = true;                                                               \
		struct timespec deadline;                                                          \
		clock_gettime(CLOCK_REALTIME, &deadline);                                          \
		deadline.tv_sec += 60;                                                             \
		pthread_mutex_lock(&heard.lock);                                                   \
		while (!(condition) && in_time)                                                    \
			in_time =                                                                  \
				pthread_cond_timedwait(&heard.more, &heard.lock, &deadline) == 0;  \
		in_time = (condition);                                                             \
		pthread_mutex_unlock(&heard.lock);                                                 \
		if (!in_time)                                                                      \
			fail_msg("%s did not come true", #condition);                              \
	} while (0)

/* ---- life: the steps of main and of the host thread ---- */

static int
host_start(void *ctx, struct thread *self)
{
	(void)ctx;
	role_enter_host();
	return netlink_start(mirror, self);
}

static bool port_is_xdp;
/* Of the next mirror; NULL: none. */
static struct netlink_room *room;
static int (*change)(void *ctx, bool on_host, const void *message, size_t bytes);

static int
create(void)
{
	struct netlink_port port = {
		.port = PORT, .ifindex = if_nametoindex("p1"), .name = "east", .xdp = port_is_xdp};
	struct netlink_config c = {.arena = arena,
		.forwards = true,
		.ports = &port,
		.port_count = 1,
		.room = room,
		.change = change,
		.state_dir = state_dir,
		.address = on_address,
		.anycast = on_anycast,
		.neighbor = on_neighbor,
		.link = on_link,
		.changed = on_changed,
		.route = on_route};

	return netlink_create(&c, &mirror);
}

static void
start(void)
{
	assert_int_equal(create(), 0);
	assert_int_equal(
		thread_create(&(struct thread_config){.name = "host", .start = host_start}, &host),
		0);
}

struct count {
	const unsigned *at;
	unsigned value;
};

static void
count_read(void *arg)
{
	struct count *c = arg;

	c->value = *c->at;
}

/* A number of the host thread, read on this thread. */
static unsigned
count_of(const unsigned *at)
{
	struct count c = {.at = at};

	if (host == NULL)
		return *at;
	assert_int_equal(thread_call(host, count_read, &c), 0);
	return c.value;
}

static void
stop(void)
{
	thread_end(host);
	thread_free(host);
	host = NULL;
	netlink_destroy(mirror, false);
	mirror = NULL;
	assert_int_equal(arena_bytes(arena), 0);
}

static void
read_setting(const char *path, char *out, int size)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_non_null(fgets(out, size, f));
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

static void
expect_setting(const char *path, const char *want)
{
	char got[32];

	read_setting(path, got, sizeof(got));
	if (strcmp(got, want) != 0)
		fail_msg("%s is %s, not %s", path, got, want);
}

static unsigned
count_lines(const char *command)
{
	FILE *f = popen(command, "r");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n++;
	pclose(f);
	return n;
}

static unsigned
count_rules(const char *family)
{
	char command[128];

	snprintf(command, sizeof(command), "ip %s rule show | grep '^100:.*iif p1.*blackhole'",
		family);
	return count_lines(command);
}

#define CONF4 "/proc/sys/net/ipv4/conf/p1/"
#define CONF6 "/proc/sys/net/ipv6/conf/p1/"

static void
expect_guarded(void)
{
	expect_setting(CONF4 "rp_filter", "0");
	expect_setting(CONF4 "arp_ignore", "1");
	expect_setting(CONF4 "accept_redirects", "0");
	expect_setting(CONF4 "send_redirects", "0");
	expect_setting(CONF6 "accept_ra", "0");
	expect_setting(CONF6 "autoconf", "0");
	expect_setting(CONF6 "accept_redirects", "0");
	expect_setting(CONF6 "keep_addr_on_down", "1");
	assert_int_equal(count_rules("-4"), 1);
	assert_int_equal(count_rules("-6"), 1);
}

static void
test_guard_is_set_and_put_back(void **state)
{
	struct netlink_fault faults[4];

	(void)state;
	run("echo 2 > " CONF4 "rp_filter; echo 1 > " CONF4 "send_redirects; echo 2 > " CONF6
	    "accept_ra");
	assert_int_equal(create(), 0);
	assert_int_equal(netlink_faults(mirror, faults, 4), 0);
	expect_guarded();
	netlink_destroy(mirror, false);
	expect_setting(CONF4 "rp_filter", "2");
	expect_setting(CONF4 "arp_ignore", "0");
	expect_setting(CONF4 "send_redirects", "1");
	expect_setting(CONF4 "accept_redirects", "1");
	expect_setting(CONF6 "accept_ra", "2");
	expect_setting(CONF6 "autoconf", "1");
	expect_setting(CONF6 "keep_addr_on_down", "0");
	expect_setting("/proc/sys/net/ipv4/conf/all/accept_redirects", "1");
	assert_int_equal(count_rules("-4"), 0);
	assert_int_equal(count_rules("-6"), 0);
}

static void
expect_offload(const char *path, const char *want)
{
	char got[32] = "";
	int rc = net_feature_get(path, got, sizeof(got));

	if (rc != 0 || strcmp(got, want) != 0)
		fail_msg("%s is %s (%d), not %s", path, got, rc, want);
}

/*
 * A driver must leave VLAN tags in frames for an XDP program; for a veth, the other end must insert
 * the tags.
 */
static void
test_vlan_offload(void **state)
{
	struct netlink *killed = NULL;
	char path[NET_FEATURE_PATH], value[8];

	(void)state;
	run("ethtool -K p0 tx-vlan-stag-hw-insert off"); /* the operator's setting must stay */
	assert_int_equal(create(), 0); /* not an AF_XDP port: no change */
	expect_offload("ethtool/./p1/rx-vlan-hw-parse", "on");
	netlink_destroy(mirror, false);
	port_is_xdp = true;
	run("mkdir -p /tmp/keel-test-netlink.vlan");
	state_dir = "/tmp/keel-test-netlink.vlan";
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(create(), 0);
		expect_offload("ethtool/./p1/rx-vlan-hw-parse", "off");
		expect_offload("ethtool/./p1/rx-vlan-stag-hw-parse", "off");
		expect_offload("ethtool/./p0/tx-vlan-hw-insert", "off");
		if (i == 0)
			killed = mirror;
	}
	netlink_destroy(mirror, false);
	expect_offload("ethtool/./p1/rx-vlan-hw-parse", "on");
	expect_offload("ethtool/./p1/rx-vlan-stag-hw-parse", "on");
	expect_offload("ethtool/./p0/tx-vlan-hw-insert", "on");
	expect_offload("ethtool/./p0/tx-vlan-stag-hw-insert", "off");
	netlink_destroy(killed, false);
	run("rmdir /tmp/keel-test-netlink.vlan");
	state_dir = NULL;
	port_is_xdp = false;

	/* a fixed setting of a driver, and a missing interface */
	assert_int_equal(net_setting_write("ethtool/./lo/rx-vlan-hw-parse", "on"), -EOPNOTSUPP);
	assert_int_equal(net_setting_write("ethtool/./lo/rx-vlan-hw-parse", "off"), 0);
	assert_int_equal(
		net_feature_get("ethtool/./lo/no-such-feature", value, sizeof(value)), -ENOENT);
	assert_int_equal(
		net_feature_get("ethtool/./none9/rx-vlan-hw-parse", value, sizeof(value)), -ENOENT);
	assert_int_equal(net_feature_get("ethtool/none9/lo/rx-vlan-hw-parse", value, sizeof(value)),
		-ENOENT);
	assert_int_equal(net_feature_get("ethtool/lo", value, sizeof(value)), -EINVAL);
	assert_false(vlan_offload_rx("p1", 2, path));
}

/* Strict reverse path filtering is reported, not changed. */
static void
test_strict_reverse_path_is_told(void **state)
{
	struct netlink_fault faults[4];

	(void)state;
	run("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
	assert_int_equal(create(), 0);
	run("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter");
	assert_int_equal(netlink_faults(mirror, faults, 4), 1);
	assert_non_null(strstr(faults[0].what, "rp_filter"));
	netlink_destroy(mirror, false);
}

/*
 * After a kill, the next start restores the operator's settings; a value changed since then stays.
 */
static void
test_killed_one_leaves_a_note(void **state)
{
	struct netlink *killed[2]; /* destroyed at the end, to restore their changes */

	(void)state;
	run("mkdir -p /tmp/keel-test-netlink.state; echo 2 > " CONF4 "rp_filter; echo 2 > " CONF6
	    "accept_ra");
	state_dir = "/tmp/keel-test-netlink.state";
	assert_int_equal(create(), 0);
	killed[0] = mirror;
	expect_guarded();
	run("echo 3 > " CONF4 "arp_ignore");
	assert_int_equal(create(), 0);
	expect_guarded();
	netlink_destroy(mirror, false);
	expect_setting(CONF4 "rp_filter", "2");
	expect_setting(CONF6 "accept_ra", "2");
	expect_setting(CONF6 "autoconf", "1");
	expect_setting(CONF4 "arp_ignore", "3");
	assert_int_equal(count_lines("ls -A /tmp/keel-test-netlink.state"), 0);
	/* A note from before the last boot is ignored. */
	assert_int_equal(create(), 0);
	killed[1] = mirror;
	run("sed -i 's/^........-/00000000-/' /tmp/keel-test-netlink.state/host-*");
	assert_int_equal(create(), 0);
	netlink_destroy(mirror, false);
	expect_setting(CONF4 "rp_filter", "0");
	state_dir = NULL;
	netlink_destroy(killed[1], false);
	netlink_destroy(killed[0], false);
	assert_int_equal(arena_bytes(arena), 0);
	run("rmdir /tmp/keel-test-netlink.state; echo 0 > " CONF4 "arp_ignore; echo 1 > " CONF6
	    "accept_ra; echo 1 > " CONF6 "autoconf; echo 1 > " CONF4
	    "accept_redirects; echo 1 > " CONF6 "accept_redirects; echo 0 > " CONF6
	    "keep_addr_on_down; echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects; echo 1 "
	    "> " CONF4 "send_redirects");
}

static void
test_crash_leftover_is_adopted(void **state)
{
	struct netlink_fault faults[4];

	(void)state;
	run("ip rule add pref 100 iif p1 blackhole");
	assert_int_equal(create(), 0);
	assert_int_equal(netlink_faults(mirror, faults, 4), 0);
	assert_int_equal(count_rules("-4"), 1);
	netlink_destroy(mirror, false);
	assert_int_equal(count_rules("-4"), 0);
}

/* The kernel's routing accepts a packet to our address and does not forward other packets. */
static void
test_kernel_does_not_forward(void **state)
{
	(void)state;
	run("ip address add 192.0.2.1/24 dev p1 && ip route add 203.0.113.0/24 via 192.0.2.9");
	assert_int_equal(create(), 0);
	assert_int_equal(count_lines("ip route get 192.0.2.1 from 198.51.100.1 iif p1 2>/dev/null "
				     "| grep '^local'"),
		1);
	assert_int_equal(
		count_lines("ip route get 203.0.113.5 from 192.0.2.7 iif p1 2>/dev/null"), 0);
	netlink_destroy(mirror, false);
	run("ip address flush dev p1");
}

static void
test_read_only_proc_is_told(void **state)
{
	struct netlink_fault faults[32];
	unsigned n;

	(void)state;
	run("mount -t tmpfs -o ro none /proc/sys/net/ipv4");
	assert_int_equal(create(), 0);
	n = netlink_faults(mirror, faults, 32);
	run("umount /proc/sys/net/ipv4");
	assert_true(n >= 4 && n <= 32);
	assert_non_null(strstr(faults[0].what, "p1"));
	assert_true(faults[0].error < 0);
	assert_int_equal(count_rules("-4"), 1); /* the other settings are made nevertheless */
	netlink_destroy(mirror, false);
}

/* ---- the mirror ---- */

static void
test_mirror(void **state)
{
	struct ip_addr v4 = addr("192.0.2.1"), near = addr("192.0.2.7");
	unsigned calls;

	(void)state;
	run("ip address add 198.51.100.1/30 dev p1"); /* added before the start */
	start();
	AWAIT(heard.link_calls == 1 && heard.link_up);
	AWAIT(heard.address_present && addr_v4(&heard.local) == 0xc6336401);

	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	AWAIT(heard.address_calls == 2 && heard.subnet.len == 24 && addr_equal(&heard.local, &v4));
	AWAIT(prefix_v4(&heard.subnet) == 0xc0000200);
	run("ip address del 192.0.2.1/24 dev p1");
	AWAIT(heard.address_calls == 3 && !heard.address_present);
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	AWAIT(heard.address_calls == 4 && heard.address_present);

	run("ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev p1 nud reachable");
	AWAIT(heard.neighbor_up && addr_equal(&heard.neighbor, &near) && heard.mac[5] == 7);
	calls = neighbor_calls();
	/* reachable and stale are equivalent */
	run("ip neigh change 192.0.2.7 lladdr 02:00:00:00:00:07 dev p1 nud stale");
	run("ip neigh change 192.0.2.7 lladdr 02:00:00:00:00:08 dev p1 nud reachable");
	AWAIT(heard.mac[5] == 8);
	assert_int_equal(neighbor_calls(), calls + 1);
	run("ip neigh change 192.0.2.7 dev p1 nud failed");
	AWAIT(!heard.neighbor_up);
	/* A broadcast MAC address belongs to no neighbour. */
	run("ip neigh replace 192.0.2.255 lladdr ff:ff:ff:ff:ff:ff dev p1 nud noarp");
	run("ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:09 dev p1 nud permanent");
	AWAIT(heard.neighbor_up && heard.mac[5] == 9);
	assert_int_equal(neighbor_calls(), calls + 3);

	/*
	 * The kernel keeps a permanent neighbour when the link goes down; for us the neighbour is
	 * lost, and returns with the link.
	 */
	run("ip link set p0 down");
	AWAIT(!heard.link_up && !heard.neighbor_up);
	run("ip link set p0 up");
	AWAIT(heard.link_up && heard.neighbor_up && heard.mac[5] == 9);
	run("ip neigh del 192.0.2.7 dev p1");
	AWAIT(!heard.neighbor_up);
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

/*
 * Headers contain the port's MAC address: after a change of the address all neighbours are reported
 * again.
 */
static void
test_port_changes(void **state)
{
	unsigned calls;

	(void)state;
	start();
	run("ip address add 192.0.2.1/24 dev p1");
	run("ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:07 dev p1 nud permanent");
	AWAIT(heard.neighbor_up && heard.mac[5] == 7);
	calls = neighbor_calls();
	changed_answer = false;
	changed_calls = 0;
	run("ip link set p1 mtu 1400");
	AWAIT(changed_calls == 1);
	assert_int_equal(neighbor_calls(), calls);
	changed_answer = true;
	run("ip link set p1 alias east"); /* a message without a relevant change */
	run("ip link set p1 mtu 1500");
	AWAIT(changed_calls == 2 && heard.neighbor_calls == calls + 1 && heard.neighbor_up);
	/* The kernel drops all neighbours, including permanent neighbours. */
	run("ip link set p1 address 02:00:00:00:01:01");
	AWAIT(changed_calls == 3 && !heard.neighbor_up);
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

/* ---- a neighbour needed by waiting packets ---- */

static void
resolve_near(void *arg)
{
	struct ip_addr near = addr("192.0.2.77");

	role_enter_host();
	*(int *)arg = netlink_resolve(mirror, PORT, &near);
}

static void
count_near(void *arg)
{
	struct netlink_neighbor n[8];

	role_enter_host();
	*(unsigned *)arg = netlink_neighbors(mirror, n, 8);
	for (unsigned i = 0; i < *(unsigned *)arg; i++)
		assert_int_equal(n[i].port, PORT);
}

/* Without the lock: the host thread may be waiting for the lock. */
static void
await_near(void)
{
	uint64_t deadline = tick_deadline(300);
	unsigned n = 0;

	do
		assert_int_equal(thread_call(host, count_near, &n), 0);
	while (n == 0 && tick(deadline));
	assert_true(n >= 1);
}

static void
test_resolve(void **state)
{
	struct ip_addr v4 = addr("192.0.2.1");
	int rc = 1;

	(void)state;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(rc, 0);
	/* The kernel resolves the neighbour, repeatedly, outside the limits of the table. */
	assert_int_equal(
		count_lines("ip neigh show 192.0.2.77 dev p1 | grep 'managed extern_learn'"), 1);
	await_near();
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

/* Waits until a command prints `want` lines; fails after a minute. */
static void
await_lines(const char *command, unsigned want)
{
	uint64_t deadline = tick_deadline(300);
	unsigned n;

	do {
		n = count_lines(command);
		if (n == want)
			return;
	} while (tick(deadline));
	fail_msg("%s: %u lines, not %u", command, n, want);
}

static void
glean_near(void *arg)
{
	struct ip_addr near = addr("192.0.2.77");

	role_enter_host();
	*(int *)arg = netlink_glean(mirror, PORT, &near);
}

/*
 * Packets to all addresses of a subnet: the kernel probes each address for a limited time; a
 * neighbour that answers is kept while it answers.
 */
static void
test_glean(void **state)
{
	struct ip_addr v4 = addr("192.0.2.1");
	int rc = 1;

	(void)state;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	/* Three probes: visible for a minute, then the probes end. */
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	assert_int_equal(thread_call(host, glean_near, &rc), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(count_lines("ip neigh show 192.0.2.77 dev p1"), 1);
	assert_int_equal(count_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed"), 0);
	run("ip neigh del 192.0.2.77 dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	assert_int_equal(thread_call(host, glean_near, &rc), 0);
	await_lines("ip neigh show 192.0.2.77 dev p1", 0); /* no neighbour answered */

	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	assert_int_equal(thread_call(host, glean_near, &rc), 0);
	run("ip neigh change 192.0.2.77 lladdr 02:00:00:00:00:77 dev p1 nud reachable");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x77);
	await_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed", 1);
	run("ip neigh change 192.0.2.77 dev p1 nud failed");
	AWAIT(!heard.neighbor_up);
	await_lines("ip neigh show 192.0.2.77 dev p1", 0);

	/* A next hop stays a next hop when packets ask for the same address. */
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(thread_call(host, glean_near, &rc), 0);
	assert_int_equal(count_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed"), 1);
	stop();
	assert_int_equal(
		count_lines("ip neigh show dev p1 | grep -i managed"), 0); /* restored, too */
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

struct scan {
	uint32_t first;
	unsigned count, accepted;
};

/* Requests each address, as for packets to absent hosts. */
static void
glean_all(void *arg)
{
	struct scan *s = arg;

	role_enter_host();
	s->accepted = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		struct ip_addr a = addr_from_v4(s->first + i);
		int rc = netlink_glean(mirror, PORT, &a);

		assert_true(rc == 0 || rc == -EBUSY);
		s->accepted += rc == 0;
	}
}

#define SCAN(first, count)                                                                         \
	(struct scan)                                                                              \
	{                                                                                          \
		0x0a000000u + (first), (count), 0                                                  \
	}
#define COUNT_SCANNED "ip neigh show dev p1 | grep '^10[.]'"

/*
 * A scan of a large subnet (RFC 6583 7.1): few requests are unanswered at a time, for any size of the
 * scan. A new request takes the place of an old request without an answer, so that a present host is
 * found. Next hops need no room.
 */
static void
test_scan_is_bounded(void **state)
{
	struct netlink_room all = {.size = {4096, 4096}};
	struct ip_addr v4 = addr("10.0.0.1"), near = addr("192.0.2.1");
	uint64_t end = tick_deadline(300);
	struct scan s;
	int rc = 1;

	(void)state;
	room = &all;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 8), 0);
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &near, 24), 0);
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms"); /* no answers */
	for (unsigned size = 100, at = 256; size <= 10000; at += size, size *= 10) {
		s = SCAN(at, size);
		assert_int_equal(thread_call(host, glean_all, &s), 0);
		assert_true(size > 100 || s.accepted == 64);
		assert_int_equal(count_of(&all.gleans[0]), 64);
		await_lines(COUNT_SCANNED, 64);
	}
	assert_true(atomic_load(&all.held) > 0 && atomic_load(&all.short_ns) != 0);
	assert_int_equal(atomic_load(&all.short_port), PORT);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(count_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed"), 1);
	/* a present host */
	do {
		s = SCAN(99, 1);
		assert_int_equal(thread_call(host, glean_all, &s), 0);
	} while (s.accepted == 0 && tick(end));
	assert_int_equal(s.accepted, 1);
	assert_true(atomic_load(&all.ended) >= 1);
	run("ip neigh change 10.0.0.99 lladdr 02:00:00:00:00:99 dev p1 nud reachable");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x99);
	await_lines("ip neigh show 10.0.0.99 dev p1 | grep -i managed", 1);
	await_lines("ip neigh show dev p1 | grep extern_learn", 1); /* the next hop alone */
	await_lines(COUNT_SCANNED, 64); /* 63 and the host */
	stop();
	assert_int_equal(count_of(&all.gleans[0]) + count_of(&all.followed[0]), 0);
	room = NULL;
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* Answering hosts have half of the kernel's table at most: the oldest host is released. */
static void
test_answering_hosts_are_bounded(void **state)
{
	struct netlink_room all = {.size = {16, 16}};
	struct ip_addr v4 = addr("10.0.0.1");
	char command[128];

	(void)state;
	room = &all;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 8), 0);
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	for (unsigned i = 0; i < 12; i++) {
		struct scan s = SCAN(20 + i, 1);

		assert_int_equal(thread_call(host, glean_all, &s), 0);
		assert_int_equal(s.accepted, 1);
		snprintf(command, sizeof(command),
			"ip neigh change 10.0.0.%u lladdr 02:00:00:00:00:%02x dev p1 nud reachable",
			20 + i, 0x20 + i);
		run(command);
		AWAIT(heard.neighbor_up && heard.mac[5] == 0x20 + i);
	}
	await_lines("ip neigh show dev p1 | grep -i managed", 8);
	await_lines("ip neigh show 10.0.0.31 dev p1 | grep -i managed", 1);
	await_lines("ip neigh show 10.0.0.20 dev p1 | grep -i managed", 0);
	await_lines(COUNT_SCANNED, 12); /* released hosts age */
	assert_int_equal(atomic_load(&all.released), 4);
	stop();
	room = NULL;
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* ---- next hops that do not answer ---- */

/* Next hops of routes of a peer. */
static void
resolve_all(void *arg)
{
	const struct scan *s = arg;

	role_enter_host();
	for (uint32_t i = 0; i < s->count; i++) {
		struct ip_addr a = addr_from_v4(s->first + i);

		(void)netlink_resolve(mirror, PORT, &a);
	}
}

static void
release_all(void *arg)
{
	const struct scan *s = arg;

	role_enter_host();
	for (uint32_t i = 0; i < s->count; i++) {
		struct ip_addr a = addr_from_v4(s->first + i);

		netlink_release(mirror, PORT, &a);
	}
}

/*
 * A peer announces routes with many dead next hops of a shared subnet: 128 are asked for at a time.
 * Waiting next hops have turns, a new next hop soon. An answering next hop stays, also after the link was down.
 */
static void
test_dead_next_hops_take_turns(void **state)
{
	struct netlink_room all = {.size = {4096, 4096}};
	struct scan dead = SCAN(256, 600), present = SCAN(99, 1);
	uint64_t at;

	(void)state;
	room = &all;
	run("ip address add 10.0.0.1/8 dev p1");
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms"); /* no answers */
	start();
	AWAIT(heard.link_up);
	assert_int_equal(thread_call(host, resolve_all, &dead), 0);
	assert_int_equal(count_of(&all.hops[0]), 128);
	await_lines(COUNT_SCANNED, 128);
	at = tick_now_ns();
	assert_int_equal(thread_call(host, resolve_all, &present), 0);
	/* every second turn is for new next hops: 600 in 8 s */
	await_lines("ip neigh show 10.0.0.99 dev p1 | grep -i managed", 1);
	print_message("# asked for after %.1f s\n", (double)(tick_now_ns() - at) / 1e9);
	run("ip neigh change 10.0.0.99 lladdr 02:00:00:00:00:99 dev p1 nud reachable");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x99);
	assert_true(count_lines(COUNT_SCANNED) <= 129);
	assert_true(atomic_load(&all.held) > 0 && atomic_load(&all.ended) > 128);
	run("ip link set p0 down");
	AWAIT(!heard.link_up);
	/* but for requests that were on their way when the kernel removed all */
	assert_in_range(count_lines(COUNT_SCANNED), 0, 16);
	at = tick_now_ns();
	run("ip link set p0 up");
	await_lines("ip neigh show 10.0.0.99 dev p1 | grep -i managed", 1);
	print_message("# again after %.1f s\n", (double)(tick_now_ns() - at) / 1e9);
	await_lines(COUNT_SCANNED, 128);
	/* the routes go */
	assert_int_equal(thread_call(host, release_all, &dead), 0);
	assert_in_range(count_of(&all.hops[0]), 0, 1);
	await_lines(COUNT_SCANNED, 1);
	stop();
	assert_int_equal(count_of(&all.hops[0]), 0);
	room = NULL;
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* The limit of the kernel is the same for all namespaces, so the test sets a limit of its own: 10 neighbours on p1. */
static _Atomic unsigned small_table_requests;

static int
change_in_small_table(void *ctx, bool on_host, const void *message, size_t bytes)
{
	const struct nlmsghdr *h = message;
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t more[512];
	} answer;
	int s, rc = -EIO;

	(void)ctx;
	(void)on_host;
	atomic_fetch_add(&small_table_requests, 1);
	if (h->nlmsg_type == RTM_NEWNEIGH && count_lines(COUNT_SCANNED) >= 10)
		return -ENOBUFS;
	s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	union {
		struct nlmsghdr h;
		uint8_t octets[512];
	} copy;

	assert_true(s >= 0 && bytes <= sizeof(copy));
	memcpy(&copy, message, bytes);
	copy.h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(s, &copy, bytes, 0) == (ssize_t)bytes && recv(s, &answer, sizeof(answer), 0) > 0 &&
		answer.h.nlmsg_type == NLMSG_ERROR)
		rc = answer.e.error;
	close(s);
	return rc;
}

/* The kernel's table is full: unanswered requests make room for a next hop. */
static void
test_next_hop_comes_first(void **state)
{
	struct netlink_room all = {.size = {4096, 4096}};
	struct scan s = SCAN(256, 10);
	int rc = 1;

	(void)state;
	room = &all;
	change = change_in_small_table;
	run("ip address add 10.0.0.1/8 dev p1; ip address add 192.0.2.1/24 dev p1");
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	start();
	assert_int_equal(thread_call(host, glean_all, &s), 0);
	assert_int_equal(s.accepted, 10);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(count_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed"), 1);
	/* the oldest request alone */
	assert_int_equal(count_lines(COUNT_SCANNED), 9);
	assert_int_equal(count_lines("ip neigh show 10.0.1.0 dev p1"), 0);
	assert_int_equal(atomic_load(&all.refused), 1);
	assert_int_equal(atomic_load(&all.ended), 1);
	stop();
	change = NULL;
	room = NULL;
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* The table is full of other entries: a refused request ends the attempt for all next hops. */
static void
test_full_table_ends_the_attempt(void **state)
{
	struct netlink_room all = {.size = {4096, 4096}};
	struct scan s = SCAN(256, 300);
	unsigned before;

	(void)state;
	room = &all;
	change = change_in_small_table;
	run("ip address add 10.0.0.1/8 dev p1; for i in $(seq 20 29); do "
	    "ip neigh add 10.0.0.$i lladdr 02:00:00:00:00:20 dev p1 nud reachable; done");
	start();
	AWAIT(heard.link_up);
	before = atomic_load(&small_table_requests);
	assert_int_equal(thread_call(host, resolve_all, &s), 0);
	assert_in_range(atomic_load(&small_table_requests) - before, 1, 5);
	run("for i in $(seq 20 24); do ip neigh del 10.0.0.$i dev p1; done");
	await_lines("ip neigh show dev p1 | grep -i managed", 5);
	assert_in_range(count_of(&all.hops[0]), 5, 9);
	stop();
	change = NULL;
	room = NULL;
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

/* ---- two namespaces ---- */

static struct netlink *other;

static void
other_start(void *arg)
{
	role_enter_host();
	*(int *)arg = netlink_start(other, host);
}

static void
other_stop(void *arg)
{
	(void)arg;
	role_enter_host();
	netlink_stop(other);
}

static void
other_glean(void *arg)
{
	role_enter_host();
	assert_int_equal(netlink_glean(other, PORT + 1, arg), 0);
}

/* An address of each interface answers. */
static void
answered(const char *iface, unsigned last, unsigned want)
{
	char command[160];

	snprintf(command, sizeof(command),
		"ip neigh change 10.0.0.%u lladdr 02:00:00:00:00:%02x dev %s nud reachable", last,
		last, iface);
	run(command);
	snprintf(command, sizeof(command), "ip neigh show dev %s | grep -i managed", iface);
	await_lines(command, want);
}

/*
 * Two mirrors share the room, as with two instances. The hosts of p2 have half of the table: the oldest
 * host makes room for a host of p1, and the oldest unanswered request of p2 for a next hop of p1.
 */
static void
test_instances_share_the_room(void **state)
{
	struct netlink_room all = {.size = {16, 16}};
	struct netlink_port port = {.port = PORT + 1, .name = "west"};
	struct netlink_config c = {.arena = arena,
		.vrf = {7},
		.forwards = true,
		.ports = &port,
		.port_count = 1,
		.room = &all,
		.address = on_address,
		.neighbor = on_neighbor,
		.link = on_link};
	int rc = 1;

	(void)state;
	room = &all;
	change = change_in_small_table;
	run("ip link add p3 type veth peer name p2 && ip link set p3 arp off up && "
	    "ip link set p2 up && "
	    "ip address add 10.0.0.1/8 dev p2 && ip address add 10.0.0.2/8 dev p1 && "
	    "ip address add 192.0.2.1/24 dev p1");
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p2/retrans_time_ms");
	port.ifindex = if_nametoindex("p2");
	start();
	AWAIT(heard.link_up);
	assert_int_equal(netlink_create(&c, &other), 0);
	assert_int_equal(thread_call(host, other_start, &rc), 0);
	assert_int_equal(rc, 0);
	for (unsigned i = 0; i < 8; i++) {
		struct ip_addr a = addr_from_v4(0x0a000014u + i);

		assert_int_equal(thread_call(host, other_glean, &a), 0);
		answered("p2", 20 + i, i + 1);
	}
	assert_int_equal(count_of(&all.followed[0]), 8);
	for (unsigned i = 0; i < 2; i++) {
		struct scan s = SCAN(40 + i, 1);

		assert_int_equal(thread_call(host, glean_all, &s), 0);
		answered("p1", 40 + i, i + 1);
	}
	await_lines("ip neigh show dev p2 | grep -i managed", 6);
	await_lines("ip neigh show 10.0.0.20 dev p2 | grep -i managed", 0);
	assert_int_equal(count_of(&all.followed[0]), 8);
	/* the table of the test is full of entries of p1: a request of p2 makes room */
	for (unsigned i = 0; i < 3; i++) {
		struct ip_addr a = addr_from_v4(0x0a000050u + i);

		assert_int_equal(thread_call(host, other_glean, &a), 0);
	}
	run("for i in $(seq 60 67); do ip neigh add 10.0.0.$i lladdr 02:00:00:00:00:60 dev p1 "
	    "nud reachable; done");
	assert_int_equal(count_of(&all.gleans[0]), 3);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(count_of(&all.gleans[0]), 2);
	assert_int_equal(thread_call(host, other_stop, NULL), 0);
	netlink_destroy(other, false);
	assert_int_equal(count_of(&all.gleans[0]), 0);
	assert_int_equal(count_of(&all.followed[0]), 2);
	stop();
	change = NULL;
	room = NULL;
	run("ip link del p2; ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* Runs long enough to see the only neighbour. */
static void
start_and_stop(void)
{
	start();
	await_near();
	stop();
}

/* A killed process leaves managed neighbours in the kernel: the next process releases them. */
static void
test_neighbors_of_a_killed_one(void **state)
{
	(void)state;
	/*
	 * Probed for a minute, so that the neighbour exists even for a late check: the kernel
	 * deletes unanswered neighbours.
	 */
	run("echo 20000 > /proc/sys/net/ipv4/neigh/p1/retrans_time_ms; "
	    "ip address add 192.0.2.1/24 dev p1; ip neigh add 192.0.2.78 dev p1 managed");
	start_and_stop();
	assert_int_equal(
		count_lines("ip neigh show 192.0.2.78 dev p1 | grep -i managed"), 1); /* not ours */
	run("ip rule add pref 100 iif p1 blackhole"); /* the state after a kill */
	start_and_stop();
	assert_int_equal(count_lines("ip neigh show dev p1 | grep -i managed"), 0);
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1; echo 50 > "
	    "/proc/sys/net/ipv4/neigh/p1/retrans_time_ms");
}

/* The kernel keeps neighbours of a subnet removed from the interface; packets must not go there. */
static void
test_neighbor_goes_with_its_subnet(void **state)
{
	unsigned calls;

	(void)state;
	start();
	run("ip address add 192.0.2.1/24 dev p1; ip address add 198.51.100.1/24 dev p1");
	run("ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:71 dev p1 nud permanent");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x71);
	calls = neighbor_calls();
	/* in no subnet */
	run("ip neigh replace 203.0.113.7 lladdr 02:00:00:00:00:72 dev p1 nud permanent");
	run("ip neigh replace 198.51.100.7 lladdr 02:00:00:00:00:73 dev p1 nud permanent");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x73);
	assert_int_equal(neighbor_calls(), calls + 1);
	run("ip address del 192.0.2.1/24 dev p1");
	AWAIT(!heard.neighbor_up && addr_v4(&heard.neighbor) == 0xc0000207);
	assert_int_equal(neighbor_calls(), calls + 2);
	run("ip address add 192.0.2.1/24 dev p1");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x71);
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

static void
is_local(void *arg)
{
	struct ip_addr v4 = addr("192.0.2.1");

	role_enter_host();
	*(bool *)arg = netlink_is_local(mirror, VRF_DEFAULT, &v4);
}

static void
test_address_with_two_lengths(void **state)
{
	bool local = false;

	(void)state;
	start();
	run("ip address add 192.0.2.1/24 dev p1; ip address add 192.0.2.1/16 dev p1");
	AWAIT(heard.address_present && heard.subnet.len == 16);
	run("ip address del 192.0.2.1/16 dev p1");
	AWAIT(!heard.address_present && heard.subnet.len == 16);
	assert_int_equal(thread_call(host, is_local, &local), 0);
	assert_true(local);
	run("ip address del 192.0.2.1/24 dev p1");
	AWAIT(!heard.address_present && heard.subnet.len == 24);
	assert_int_equal(thread_call(host, is_local, &local), 0);
	assert_false(local);
	stop();
}

static void
port_close(void *arg)
{
	(void)arg;
	role_enter_host();
	netlink_port_remove(mirror, PORT);
}

static void
test_closed_port_has_no_local_address(void **state)
{
	(void)state;
	start();
	run("ip address add 192.0.2.1/24 dev p1");
	AWAIT(heard.address_present && heard.subnet.len == 24);
	assert_int_equal(thread_call(host, port_close, NULL), 0);
	assert_false(heard.address_present);
	assert_false(heard.local_when_lost);
	stop();
	run("ip address flush dev p1");
}

/* ---- IPv6 ---- */

/* RFC 4291 2.6.1, RFC 6164. */
static void
test_anycast_of_subnets(void **state)
{
	struct ip_addr any = addr("2001:db8::"), small = addr("2001:db8:2::");
	struct ip_addr second = addr("2001:db8::2");
	unsigned calls;

	(void)state;
	start();
	run("ip address add 2001:db8::1/64 dev p1 nodad");
	AWAIT(heard.anycast_present && addr_equal(&heard.anycast, &any));
	calls = count_of(&heard.anycast_calls);
	/* a second address of the subnet; the kernel may report an address later than a removal */
	run("ip address add 2001:db8::2/64 dev p1 nodad");
	AWAIT(heard.address6_present && addr_equal(&heard.local6, &second));
	/* subnets without an anycast address */
	run("ip address del 2001:db8::1/64 dev p1; "
	    "ip address add 2001:db8:3::1/127 dev p1 nodad; ip address add 2001:db8:3::3/128 dev "
	    "p1 nodad; "
	    "ip address replace fe80::1/64 dev p1 nodad; ip address add 2001:db8:2::1/126 dev p1 "
	    "nodad");
	AWAIT(addr_equal(&heard.anycast, &small));
	AWAIT(heard.anycast_calls == calls + 1);
	run("ip address del 2001:db8:2::1/126 dev p1");
	AWAIT(!heard.anycast_present && addr_equal(&heard.anycast, &small));
	/* the kernel has lost the route of the anycast address then */
	run("ip link set p1 down; ip link set p1 up");
	AWAIT(heard.anycast_present && addr_equal(&heard.anycast, &any));
	assert_int_equal(thread_call(host, port_close, NULL), 0);
	AWAIT(!heard.anycast_present && heard.anycast_claims == 0);
	stop();
	run("ip address flush dev p1");
}

static void
resolve_link_local(void *arg)
{
	struct ip_addr near = addr("fe80::9");

	role_enter_host();
	*(int *)arg = netlink_resolve(mirror, PORT, &near); /* the port selects the link */
}

static void
test_mirror_ipv6(void **state)
{
	struct ip_addr v6 = addr("2001:db8::1");
	int rc = 1;

	(void)state;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v6, 64), 0);
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v6, 64), 0);
	/* Tentative (RFC 4862 5.4) or not: our address. */
	AWAIT(heard.address6_present && addr_equal(&heard.local6, &v6) && heard.subnet6.len == 64);
	run("ip neigh add 2001:db8::7 lladdr 02:00:00:00:00:67 dev p1 nud reachable");
	AWAIT(heard.neighbor6_up && heard.neighbor6.zone == 0 && heard.neighbor6.b[15] == 7);
	run("ip address replace fe80::1/64 dev p1 nodad"); /* flushed by earlier tests */
	AWAIT(heard.address6_present && heard.local6.zone == zone_find("east"));
	/* The zone has the port's name, not the name of the interface. */
	run("ip neigh add fe80::7 lladdr 02:00:00:00:00:68 dev p1 nud reachable");
	AWAIT(heard.neighbor6_up && heard.neighbor6.zone == zone_find("east") &&
		heard.neighbor6.b[0] == 0xfe);
	assert_int_equal(zone_ifindex(zone_find("east")), if_nametoindex("p1"));
	assert_int_equal(zone_of_ifindex(if_nametoindex("p1")), zone_find("east"));
	assert_int_equal(thread_call(host, resolve_link_local, &rc), 0);
	assert_int_equal(rc, 0);
	await_lines("ip -6 neigh show fe80::9 dev p1 | grep -i managed", 1);
	/*
	 * fe80::/64 is present only with a link-local address of ours: the neighbour is lost with
	 * the last address.
	 */
	run("ip -6 address flush dev p1 scope link");
	AWAIT(!heard.neighbor6_up && heard.neighbor6.b[0] == 0xfe);
	run("ip -6 address del 2001:db8::1/64 dev p1");
	AWAIT(!heard.neighbor6_up && heard.neighbor6.b[0] == 0x20);
	AWAIT(!heard.address6_present);
	stop();
	run("ip neigh flush all dev p1 nud all; ip link set p1 down; ip link set p1 up");
}

/* ---- next hops dropped by the kernel ---- */

static void
release_near(void *arg)
{
	struct ip_addr near = addr("192.0.2.77");

	(void)arg;
	role_enter_host();
	netlink_release(mirror, PORT, &near);
}

static void
test_next_hop_is_asked_again(void **state)
{
	struct ip_addr v4 = addr("192.0.2.1");
	unsigned n = 1;
	int rc = 1;

	(void)state;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	AWAIT(heard.link_up);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	run("ip neigh del 192.0.2.77 dev p1");
	await_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed", 1);
	/* The kernel drops neighbours with the link. */
	run("ip link set p0 down");
	AWAIT(!heard.link_up);
	run("ip neigh flush all dev p1 nud all");
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	assert_int_equal(rc, 0);
	run("ip link set p0 up");
	await_lines("ip neigh show 192.0.2.77 dev p1 | grep -i managed", 1);
	/* An unused next hop is absent, so no probe is sent. */
	assert_int_equal(thread_call(host, release_near, NULL), 0);
	await_lines("ip neigh show 192.0.2.77 dev p1", 0);
	assert_int_equal(thread_call(host, count_near, &n), 0);
	assert_int_equal(thread_call(host, resolve_near, &rc), 0);
	run("ip neigh change 192.0.2.77 lladdr 02:00:00:00:00:77 dev p1 nud reachable");
	AWAIT(heard.neighbor_up && heard.mac[5] == 0x77);
	assert_int_equal(thread_call(host, release_near, NULL), 0);
	/* A released next hop that answers ages normally. */
	await_lines("ip neigh show 192.0.2.77 dev p1 | grep -i -e managed -e extern_learn", 0);
	await_lines("ip neigh show 192.0.2.77 dev p1", 1);
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

/* ---- routes ---- */

/* Under the lock: true for that route with `count` hops and that metric. */
static bool
has_route(const char *prefix, unsigned count, uint32_t metric)
{
	struct prefix p = pfx(prefix);
	const struct heard_route *r = heard_route(&p);

	return r != NULL && r->count == count && r->metric == metric;
}

static bool
has_hop(const char *prefix, const char *text)
{
	struct prefix p = pfx(prefix);
	struct ip_addr a = {.afi = AFI_NONE};
	const struct heard_route *r = heard_route(&p);

	if (text != NULL)
		a = addr(text);
	for (unsigned i = 0; r != NULL && i < r->count; i++)
		if (addr_equal(&r->hop[i].addr, &a) && r->hop[i].port == PORT)
			return true;
	return false;
}

static void
test_routes(void **state)
{
	unsigned calls;

	(void)state;
	run("ip address add 192.0.2.1/24 dev p1");
	run("ip route add 203.0.113.0/24 via 192.0.2.9"); /* added before the start */
	run("ip address add 198.51.100.1/24 dev p0"); /* an interface that is not a port */
	start();
	AWAIT(has_route("203.0.113.0/24", 1, 0) && has_hop("203.0.113.0/24", "192.0.2.9"));
	/*
	 * Routes created by the kernel for our addresses are skipped, and routes through other
	 * interfaces.
	 */
	run("ip route add 10.1.0.0/16 via 198.51.100.9");
	run("ip route add 10.2.0.0/16 nexthop via 192.0.2.8 nexthop via 192.0.2.9 nexthop via "
	    "198.51.100.9");
	AWAIT(has_route("10.2.0.0/16", 2, 0) && has_hop("10.2.0.0/16", "192.0.2.8"));
	AWAIT(heard.route_count == 2);
	run("ip route add 10.3.0.0/16 dev p1 metric 5; ip route add blackhole 10.4.0.0/16 metric "
	    "7");
	AWAIT(has_route("10.3.0.0/16", 1, 5) && has_hop("10.3.0.0/16", NULL));
	AWAIT(has_route("10.4.0.0/16", 0, 7));
	/* Routes of other tables are ignored. */
	run("ip route add 10.5.0.0/16 via 192.0.2.9 table 77");
	/* Of several routes, the lowest metric through a port counts. */
	run("ip route add 203.0.113.0/24 via 192.0.2.7 metric 20");
	run("ip route add 10.6.0.0/16 via 192.0.2.7 metric 30; ip route add 10.6.0.0/16 via "
	    "198.51.100.9 metric 10");
	run("ip route add 10.6.0.0/16 via 192.0.2.6 metric 20");
	AWAIT(has_route("10.6.0.0/16", 1, 20));
	run("ip route del 203.0.113.0/24 via 192.0.2.9");
	AWAIT(has_route("203.0.113.0/24", 1, 20) && has_hop("203.0.113.0/24", "192.0.2.7"));
	run("ip route replace 203.0.113.0/24 via 192.0.2.5 metric 20");
	AWAIT(has_hop("203.0.113.0/24", "192.0.2.5") && has_route("203.0.113.0/24", 1, 20));
	/* Two routes of one metric: the second becomes active when the first is removed. */
	run("ip route append 203.0.113.0/24 via 192.0.2.4 metric 20");
	calls = route_calls();
	run("ip route del 203.0.113.0/24 via 192.0.2.5 metric 20");
	AWAIT(has_hop("203.0.113.0/24", "192.0.2.4"));
	assert_int_equal(route_calls(), calls + 1);
	run("ip route del 10.4.0.0/16 metric 7; ip route del 10.3.0.0/16 metric 5");
	AWAIT(heard.route_count == 3);
	/* A route of an ignored kind replaces a mirrored route. */
	run("ip route replace throw 203.0.113.0/24 metric 20");
	AWAIT(heard.route_count == 2);
	run("ip route replace 203.0.113.0/24 via 192.0.2.4 metric 20");
	AWAIT(has_hop("203.0.113.0/24", "192.0.2.4"));
	run("ip route replace 203.0.113.0/24 dev lo metric 20");
	AWAIT(heard.route_count == 2);
	run("ip route replace 203.0.113.0/24 via 192.0.2.4 metric 20");
	AWAIT(heard.route_count == 3);
	/*
	 * The kernel sends no message for IPv4 routes lost when the link is set down or a next hop
	 * object is removed.
	 */
	run("ip nexthop add id 7 via 192.0.2.9 dev p1 && ip route add 10.7.0.0/16 nhid 7");
	AWAIT(has_hop("10.7.0.0/16", "192.0.2.9"));
	run("ip nexthop del id 7");
	AWAIT(heard.route_count == 3);
	run("ip link set p1 down");
	AWAIT(heard.route_count == 0);
	run("ip link set p1 up");
	assert_true(route_calls() < 1000000);
	stop();
	run("ip route flush table 77; ip address flush dev p0; ip address flush dev p1; ip neigh "
	    "flush all dev p1 nud all");
}

static void
test_routes_ipv6(void **state)
{
	(void)state;
	run("ip address add 2001:db8::1/64 dev p1 nodad");
	start();
	AWAIT(heard.link_up);
	run("ip route add 2001:db8:1::/48 via 2001:db8::9");
	AWAIT(has_route("2001:db8:1::/48", 1, 1024) && has_hop("2001:db8:1::/48", "2001:db8::9"));
	/* One hop more, then one less. */
	run("ip route append 2001:db8:1::/48 via 2001:db8::8");
	AWAIT(has_route("2001:db8:1::/48", 2, 1024) && has_hop("2001:db8:1::/48", "2001:db8::8"));
	run("ip route del 2001:db8:1::/48 via 2001:db8::9");
	AWAIT(has_route("2001:db8:1::/48", 1, 1024) && has_hop("2001:db8:1::/48", "2001:db8::8"));
	run("ip route replace 2001:db8:1::/48 nexthop via 2001:db8::6 nexthop via 2001:db8::7");
	AWAIT(has_route("2001:db8:1::/48", 2, 1024) && has_hop("2001:db8:1::/48", "2001:db8::6"));
	run("ip route add default via fe80::9 dev p1 metric 10");
	AWAIT(has_route("::/0", 1, 10) && has_hop("::/0", "fe80::9%east"));
	run("ip route add unreachable 2001:db8:2::/48");
	AWAIT(has_route("2001:db8:2::/48", 0, 1024));
	/* IPv4 by an IPv6 next hop, as in RFC 8950 */
	run("ip address add 192.0.2.1/24 dev p1; ip route add 10.8.0.0/16 via inet6 fe80::8 dev "
	    "p1");
	AWAIT(has_hop("10.8.0.0/16", "fe80::8%east"));
	run("ip -6 route del unreachable 2001:db8:2::/48");
	run("ip -6 route del 2001:db8:1::/48; ip -6 route del default metric 10; ip route del "
	    "10.8.0.0/16");
	AWAIT(heard.route_count == 0);
	assert_true(route_calls() < 1000000);
	stop();
	run("ip address flush dev p1 scope global; ip neigh flush all dev p1 nud all");
}

/* ---- lo and the TUN ---- */

static void
source_of_port(void *arg)
{
	struct ip_addr *out = arg;

	role_enter_host();
	assert_true(netlink_source(mirror, VRF_DEFAULT, PORT, AFI_IPV4, out));
}

static void
test_lo_and_tun(void **state)
{
	struct netlink_fault faults[4];
	struct ip_addr source, loopback = addr("198.51.100.2"), v6 = addr("2001:db8:f::1");
	struct prefix want = pfx("198.51.100.1/32");
	unsigned tun;

	(void)state;
	run("ip address add 198.51.100.1/24 dev lo");
	run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip tuntap add keel0 mode tun");
	tun = if_nametoindex("keel0");
	assert_int_equal(create(), 0);
	assert_int_equal(netlink_tun_set(mirror, "keel0", tun), 0);
	assert_int_equal(netlink_tun_up(mirror, "keel0", tun), 0);
	assert_int_equal(netlink_faults(mirror, faults, 4), 0);
	expect_setting("/proc/sys/net/ipv4/conf/keel0/rp_filter", "0");
	expect_setting("/proc/sys/net/ipv6/conf/keel0/disable_ipv6", "0");
	await_lines("ip -6 address show dev keel0 | grep inet6", 0);
	assert_int_equal(
		thread_create(&(struct thread_config){.name = "host", .start = host_start}, &host),
		0);
	/* Reported as a host prefix of full length; 127.0.0.1 is skipped. */
	AWAIT(heard.host_present && prefix_equal(&heard.host, &want));
	assert_int_equal(thread_call(host, source_of_port, &source), 0);
	assert_int_equal(addr_v4(&source), 0xc6336401);
	await_lines("ip -4 route show default dev keel0 | grep 'metric 4294967295'", 1);
	await_lines("ip -6 route show default dev keel0 | grep 'metric 4294967295'", 1);
	assert_int_equal(netlink_address_add(mirror, tun, &loopback, 32), 0);
	AWAIT(heard.host_present && heard.host.b[3] == 2);
	assert_int_equal(netlink_address_add(mirror, tun, &v6, 128), 0);
	AWAIT(heard.host_present && heard.host.afi == AFI_IPV6 && heard.host.len == 128);
	run("ip address add 192.0.2.1/24 dev p1; ip address add 192.0.2.2/24 dev p1");
	AWAIT(heard.address_present && (addr_v4(&heard.local) & 255) == 2);
	assert_int_equal(thread_call(host, source_of_port, &source), 0);
	assert_int_equal(addr_v4(&source), 0xc0000201); /* the port's first address */
	assert_int_equal(netlink_address_remove(mirror, tun, &loopback, 32), 0);
	AWAIT(!heard.host_present && heard.host.b[3] == 2);
	AWAIT(heard.route_count == 0); /* all routes are our own */
	/* the kernel drops all IPv4 routes of an interface with its last IPv4 address */
	await_lines("ip -4 route show default dev keel0 | grep 'metric 4294967295'", 1);
	await_lines("ip -4 route show table 179 default dev keel0", 1);
	await_lines("ip rule show | grep 'iif keel0.*blackhole'", 1);
	run("ip tuntap del keel0 mode tun");
	AWAIT(!heard.host_present && heard.host.afi == AFI_IPV6);
	stop();
	await_lines("ip rule show | grep 'iif keel0.*blackhole'", 0);
	run("ip address flush dev p1 scope global; ip address del 198.51.100.1/24 dev lo");
	run("echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
}

/* ---- overrun ---- */

static sem_t held, go;

static void
hold(void *arg)
{
	(void)arg;
	sem_post(&held);
	sem_wait(&go);
}

/*
 * More messages than any buffer holds while the host thread is held; the mirror recovers by a dump.
 */
static void
test_overrun(void **state)
{
	char path[] = "/tmp/keel-test-netlink-XXXXXX", command[64];
	FILE *batch = fdopen(mkstemp(path), "w");
	struct ip_addr v4 = addr("192.0.2.1"), gone = addr("192.0.2.2");

	(void)state;
	assert_non_null(batch);
	for (unsigned i = 0; i < 30000; i++)
		fprintf(batch,
			"neigh replace 192.0.2.7 lladdr 02:00:00:00:%02x:%02x dev p1 nud "
			"permanent\n",
			i >> 8 & 255, i & 255);
	fprintf(batch, "address del 192.0.2.2/32 dev p1\n");
	fprintf(batch, "neigh replace 192.0.2.7 lladdr 02:00:00:ff:ee:dd dev p1 nud permanent\n");
	fprintf(batch, "neigh del 192.0.2.8 dev p1\n");
	fclose(batch);
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &gone, 32), 0);
	run("ip neigh replace 192.0.2.8 lladdr 02:00:00:00:00:08 dev p1 nud permanent");
	AWAIT(heard.mac[5] == 8 && heard.neighbor_up && addr_equal(&heard.local, &gone));
	sem_init(&held, 0, 0);
	sem_init(&go, 0, 0);
	assert_int_equal(thread_post(host, hold, NULL), 0);
	sem_wait(&held);
	snprintf(command, sizeof(command), "ip -batch %s", path);
	run(command);
	unlink(path);
	sem_post(&go);
	AWAIT(!heard.address_present && addr_equal(&heard.local, &gone));
	AWAIT(!heard.neighbor_up && (addr_v4(&heard.neighbor) & 255) == 8);
	AWAIT(memcmp(heard.mac, "\x02\x00\x00\xff\xee\xdd", 6) == 0);
	assert_true(netlink_overruns(mirror) > 0);
	stop();
	run("ip neigh flush all dev p1 nud all; ip address flush dev p1");
}

static void
test_interface_goes(void **state)
{
	struct ip_addr v4 = addr("192.0.2.1");

	(void)state;
	start();
	role_enter_main();
	assert_int_equal(netlink_address_add(mirror, if_nametoindex("p1"), &v4, 24), 0);
	run("ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:07 dev p1 nud permanent");
	AWAIT(heard.link_up && heard.neighbor_up && heard.address_present);
	run("ip link del p1");
	AWAIT(!heard.link_up && !heard.neighbor_up && !heard.address_present);
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guard_is_set_and_put_back),
		cmocka_unit_test(test_vlan_offload),
		cmocka_unit_test(test_strict_reverse_path_is_told),
		cmocka_unit_test(test_killed_one_leaves_a_note),
		cmocka_unit_test(test_crash_leftover_is_adopted),
		cmocka_unit_test(test_kernel_does_not_forward),
		cmocka_unit_test(test_read_only_proc_is_told),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_port_changes),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_glean),
		cmocka_unit_test(test_scan_is_bounded),
		cmocka_unit_test(test_answering_hosts_are_bounded),
		cmocka_unit_test(test_next_hop_comes_first),
		cmocka_unit_test(test_dead_next_hops_take_turns),
		cmocka_unit_test(test_full_table_ends_the_attempt),
		cmocka_unit_test(test_instances_share_the_room),
		cmocka_unit_test(test_neighbors_of_a_killed_one),
		cmocka_unit_test(test_neighbor_goes_with_its_subnet),
		cmocka_unit_test(test_address_with_two_lengths),
		cmocka_unit_test(test_closed_port_has_no_local_address),
		cmocka_unit_test(test_anycast_of_subnets),
		cmocka_unit_test(test_mirror_ipv6),
		cmocka_unit_test(test_next_hop_is_asked_again),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_routes_ipv6),
		cmocka_unit_test(test_lo_and_tun),
		cmocka_unit_test(test_overrun),
		cmocka_unit_test(test_interface_goes),
	};

	role_enter_main();
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
		fprintf(stderr, "skipped: a network namespace needs root: %s\n", strerror(errno));
		return 77;
	}
	/* Our mounts stay private. */
	if (system("mount --make-rprivate / && ip link set lo up && ip link add p0 type veth peer "
		   "name p1 && "
		   "ip link set p0 arp off up && ip link set p1 up") != 0 ||
		arena_create("test", &arena) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
