/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Over loopback, both families: connect, accept, options as set, and the refusals.
 */
#include "control/session/host_socket.h"

#include "tests/control/own_net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static int
get_int(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	assert_int_equal(getsockopt(fd, level, name, &v, &len), 0);
	return v;
}

static uint16_t
port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
					      : ((struct sockaddr_in *)&ss)->sin_port);
}

static void
wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	assert_int_equal(poll(&p, 1, 300000), 1);
}

static void
check_options(int fd, enum afi afi, int ttl)
{
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 64 << 10);
	if (afi == AFI_IPV6) {
		assert_int_equal(get_int(fd, IPPROTO_IPV6, IPV6_TCLASS), 0xc0);
		assert_int_equal(get_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), ttl);
	} else {
		assert_int_equal(get_int(fd, IPPROTO_IP, IP_TOS), 0xc0);
		assert_int_equal(get_int(fd, IPPROTO_IP, IP_TTL), ttl);
	}
}

/* Connects from `source`; the listener must see exactly this address. */
static void
talk(const char *listen_at, const char *source)
{
	struct host_socket_options lo = {.vrf = VRF_DEFAULT}, co = {.vrf = VRF_DEFAULT, .ttl = 1};
	struct ip_addr at, from = {0}, want;
	uint16_t port = 0, peer_port = 0;
	int listener, client, server;
	char c = 0;

	assert_int_equal(addr_parse(listen_at, &at), 0);
	assert_int_equal(addr_parse(source, &co.source), 0);
	lo.source = addr_is_link_local(&at) ? at : (struct ip_addr){0};
	want = co.source;
	listener = host_socket_listen(&lo, at.afi, 0, 8);
	if (listener == -EAFNOSUPPORT && at.afi == AFI_IPV6)
		skip(); /* a kernel without IPv6 */
	assert_true(listener >= 0);
	port = port_of(listener);
	assert_int_equal(host_socket_accept(listener, NULL, &from, &peer_port), -EAGAIN);

	client = host_socket_connect(&co, &at, port);
	if (client == -EADDRNOTAVAIL && at.afi == AFI_IPV6) {
		close(listener);
		skip(); /* no ::1 here */
	}
	assert_true(client >= 0);
	wait_for(client, POLLOUT);
	assert_int_equal(get_int(client, SOL_SOCKET, SO_ERROR), 0);
	check_options(client, at.afi, 1);

	wait_for(listener, POLLIN);
	server = host_socket_accept(listener, NULL, &from, &peer_port);
	assert_true(server >= 0);
	assert_true(addr_equal(&from, &want));
	assert_int_equal(peer_port, port_of(client));
	assert_int_equal(host_socket_apply(server, &co, &from), 0);
	check_options(server, at.afi, 1);

	assert_int_equal(write(client, "k", 1), 1);
	wait_for(server, POLLIN);
	assert_int_equal(read(server, &c, 1), 1);
	assert_int_equal(c, 'k');
	close(client);
	close(server);
	close(listener);
}

static void
test_v4(void **state)
{
	talk("127.0.0.1", "127.0.0.3");
}

static void
test_v6(void **state)
{
	talk("::1", "::1");
}

/*
 * A listener for each family on the same port, and again immediately after a connection ended here
 * (TIME_WAIT).
 */
static void
test_listen_both_and_again(void **state)
{
	struct host_socket_options o = {.vrf = VRF_DEFAULT};
	struct ip_addr at, from;
	uint16_t port, peer_port;
	int v4, v6, client, server;

	assert_int_equal(addr_parse("127.0.0.1", &at), 0);
	v4 = host_socket_listen(&o, AFI_IPV4, 0, 8);
	assert_true(v4 >= 0);
	port = port_of(v4);
	v6 = host_socket_listen(&o, AFI_IPV6, port, 8);
	assert_true(v6 >= 0 || v6 == -EAFNOSUPPORT);
	client = host_socket_connect(&o, &at, port);
	assert_true(client >= 0);
	wait_for(v4, POLLIN);
	server = host_socket_accept(v4, NULL, &from, &peer_port);
	assert_true(server >= 0);
	close(server); /* we close first, so that TIME_WAIT is on the listening side */
	wait_for(client, POLLIN);
	close(client);
	close(v4);
	if (v6 >= 0)
		close(v6);
	v4 = host_socket_listen(&o, AFI_IPV4, port, 8);
	assert_true(v4 >= 0);
	close(v4);
}

static void
test_refusals(void **state)
{
	struct host_socket_options o = {.vrf = {7}};
	struct ip_addr at;
	int fd;

	assert_int_equal(addr_parse("127.0.0.1", &at), 0);
	assert_int_equal(host_socket_listen(&o, AFI_IPV4, 0, 8), -ENONET);
	assert_int_equal(host_socket_connect(&o, &at, 1), -ENONET);
	o.vrf = VRF_DEFAULT;
	assert_int_equal(host_socket_listen(&o, AFI_NONE, 0, 8), -EAFNOSUPPORT);
	assert_int_equal(addr_parse("::1", &o.source), 0);
	assert_int_equal(host_socket_connect(&o, &at, 1), -EAFNOSUPPORT);
	/* An address outside this host (TEST-NET-1). */
	assert_int_equal(addr_parse("192.0.2.77", &o.source), 0);
	assert_int_equal(host_socket_connect(&o, &at, 1), -EADDRNOTAVAIL);
	/* Without a listener the connect is started or refused at once. */
	memset(&o.source, 0, sizeof(o.source));
	fd = host_socket_connect(&o, &at, 1);
	if (fd >= 0) {
		wait_for(fd, POLLOUT);
		assert_int_equal(get_int(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
		close(fd);
	} else {
		assert_int_equal(fd, -ECONNREFUSED);
	}
}

static bool has_net;

/* The same addresses on two interfaces: the zone selects the interface, in both directions. */
static void
test_link_local(void **state)
{
	struct host_socket_options o = {.vrf = VRF_DEFAULT};
	struct ip_addr at;

	if (!has_net)
		skip();
	zone_intern("east");
	zone_intern("west");
	zone_intern("nowhere");
	talk("fe80::1%east", "fe80::2%east");
	talk("fe80::1%west", "fe80::2%west");
	assert_int_equal(addr_parse("fe80::1%nowhere", &at), 0);
	assert_int_equal(host_socket_connect(&o, &at, 179), -ENODEV);
	o.source = at;
	assert_int_equal(host_socket_listen(&o, AFI_IPV6, 0, 8), -ENODEV);
}

static void
test_local(void **state)
{
	struct host_socket_options o = {.vrf = VRF_DEFAULT}, lo = {.vrf = VRF_DEFAULT};
	static const char *const ends[][2] = {{"192.0.2.1", "192.0.2.2"},
		{"2001:db8:1::1", "2001:db8:1::2"}, {"fe80::1%east", "fe80::2%east"},
		{"fe80::1%west", "fe80::2%west"}};

	(void)state;
	if (!has_net)
		skip();
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		char text[ADDR_TEXT_MAX];
		struct ip_addr at, own;
		int listener, fd;

		assert_int_equal(addr_parse(ends[i][0], &at), 0);
		assert_int_equal(addr_parse(ends[i][1], &o.source), 0);
		listener = host_socket_listen(&lo, at.afi, 0, 8);
		assert_true(listener >= 0);
		fd = host_socket_connect(&o, &at, port_of(listener));
		assert_true(fd >= 0);
		host_socket_local(fd, NULL, &own);
		assert_string_equal(addr_format(&own, text), ends[i][1]);
		close(fd);
		close(listener);
	}
}

/* Only a kernel that has no route says so: a gateway is a way to a peer, and an error no answer. */
static void
test_no_route(void **state)
{
	struct host_socket_options o = {.vrf = VRF_DEFAULT};
	static const struct {
		const char *peer;
		bool none;
	} cases[] = {{"192.0.2.77", false}, {"198.51.100.1", false}, {"203.0.113.1", true},
		{"2001:db8:1::77", false}, {"2001:db8:77::1", true}, {"fe80::7%east", false},
		{"fe80::7%nowhere", true}};
	struct ip_addr at;

	(void)state;
	if (!has_net)
		skip();
	zone_intern("east");
	zone_intern("nowhere");
	assert_int_equal(system("ip route add 198.51.100.0/24 via 192.0.2.9"), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(addr_parse(cases[i].peer, &at), 0);
		assert_int_equal(host_socket_no_route(&o, &at), cases[i].none);
	}
	o.vrf.v = 1; /* its namespace is unknown */
	assert_int_equal(addr_parse("203.0.113.1", &at), 0);
	assert_false(host_socket_no_route(&o, &at));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link_local),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_no_route),
		cmocka_unit_test(test_v4),
		cmocka_unit_test(test_v6),
		cmocka_unit_test(test_listen_both_and_again),
		cmocka_unit_test(test_refusals),
	};

	has_net = own_net_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
