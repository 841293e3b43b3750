/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access to a session: TCP-MD5 (RFC 2385), GTSM (RFC 5082), TTL of single-hop, multihop and
 * internal sessions, source address; each for outgoing and incoming connections of the node.
 */
#include "control/session/session.h"

#include "control/session/host_socket.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#include <netinet/ip.h>

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define V4_BIT (1u << FAMILY_IPV4_UNICAST)

static struct node n;

/* A counter of /proc/net/netstat in this thread's namespace. */
static uint64_t
kernel_counter(const char *name)
{
	char names[8192], values[8192], *save_name, *save_value, *key, *value;
	uint64_t found = UINT64_MAX;
	FILE *f = fopen("/proc/thread-self/net/netstat", "r");

	assert_non_null(f);
	while (found == UINT64_MAX && fgets(names, sizeof(names), f) != NULL &&
		fgets(values, sizeof(values), f) != NULL) {
		key = strtok_r(names, " \n", &save_name);
		value = strtok_r(values, " \n", &save_value);
		while (key != NULL && value != NULL) {
			if (strcmp(key, name) == 0)
				found = strtoull(value, NULL, 10);
			key = strtok_r(NULL, " \n", &save_name);
			value = strtok_r(NULL, " \n", &save_value);
		}
	}
	fclose(f);
	assert_true(found != UINT64_MAX);
	return found;
}

/*
 * The SYN remains unanswered: the kernel's counter names the reason. A SYN that did not reach the
 * listener (the host had no route yet) is sent again, with a new connection.
 */
static void
expect_unheard(struct script *s, const char *counter)
{
	uint64_t before = kernel_counter(counter);
	struct pollfd p = {.events = POLLOUT};
	unsigned knocks = 1, polls = 0;
	int error;

	script_knock(s, &n, 2);
	for (p.fd = s->fd; kernel_counter(counter) == before;) {
		assert_true(++polls < WAIT_MS / 10);
		if (poll(&p, 1, 10) == 0)
			continue;
		error = script_error(s);
		printf("%s: a SYN for %s got \"%s\"\n", __func__, counter, strerror(error));
		assert_true(error == EHOSTUNREACH && knocks++ < 10);
		script_close(s);
		script_knock(s, &n, 2);
		p.fd = s->fd;
	}
	assert_int_equal(poll(&p, 1, 0), 0); /* neither connected nor refused */
	script_close(s);
}

static void
begin(const struct config_peer *c)
{
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, c, policy_accept_all());
}

static void
up_and_down(struct script *s)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	script_establish(s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	script_close(s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
}

/* ---- MD5 ---- */

static void
md5_accepted(struct config_peer *c, struct script *s)
{
	c->password = "open sesame";
	begin(c);
	expect_unheard(s, "TCPMD5NotFound");
	s->password = "open barley";
	expect_unheard(s, "TCPMD5Failure");
	s->password = "open sesame";
	up_and_down(s);
	node_end(&n);
}

static void
test_md5_v4(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	static struct script s;

	md5_accepted(&c, &s);
}

static void
test_md5_v6(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", V4_BIT);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"};

	md5_accepted(&c, &s);
}

/* The kernel compares only the address; the zone is a separate field. */
static void
test_md5_link_local(void **state)
{
	static struct script s = {.from = "fe80::2%east", .to = "fe80::1%east"};
	struct config_peer c;

	zone_intern("east");
	c = peer_config_at(PEER_AS, OWN_AS, "fe80::2%east", V4_BIT);
	md5_accepted(&c, &s);
}

/* 80 octets are the maximum. */
static void
test_md5_connected(void **state)
{
	char longest[HOST_SOCKET_PASSWORD_MAX + 1];
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	static struct script s;
	struct pollfd asked = {.events = POLLIN};
	uint64_t before;
	int listener;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	c.password = longest;
	c.passive = false;
	c.source = loopback(1);
	s.password = "something else";
	listener = script_listen(&s, &c.tcp_port);
	before = kernel_counter("TCPMD5Failure");
	begin(&c);
	wait_for(kernel_counter("TCPMD5Failure") > before);
	asked.fd = listener;
	assert_int_equal(poll(&asked, 1, 0), 0);
	/* The operator sees the timeout. */
	wait_for(strcmp(node_view(&n, 1).last_error, "connect: Connection timed out") == 0);
	close(listener);
	node_end(&n);

	s.password = longest;
	listener = script_listen(&s, &c.tcp_port);
	begin(&c);
	script_accept(&s, listener);
	assert_non_null(script_read(&s, WAIT_MS));
	assert_int_equal(s.type, BGP_OPEN);
	script_close(&s);
	close(listener);
	node_end(&n);
}

/*
 * Another password, none, and a password again: each change resets the session, and afterwards only
 * the new password is accepted.
 */
static void
test_md5_changes(void **state)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct session_policies policies = {
		.export_policy[0] = policy_accept_all(), .has_import[0] = true};
	struct node_call call = {.id = {1}, .config = &c, .policies = &policies};
	static const char *const password[] = {"first", "second", NULL, "second"};
	static struct script s, other;

	c.password = password[0];
	begin(&c);
	for (unsigned i = 0; i < 4; i++) {
		char lent[16];

		s.password = password[i];
		other.password = i > 0 ? password[i - 1] : "no";
		if (i > 0) {
			c.password = password[i];
			if (c.password != NULL) { /* copied, not kept */
				snprintf(lent, sizeof(lent), "%s", c.password);
				c.password = lent;
			}
			node_do(&n, call_update, &call);
			assert_true(call.result);
			memset(lent, 'x', sizeof(lent));
			script_expect_notification(&s, ERR_CEASE, CEASE_CONFIG_CHANGE);
			script_close(&s);
			expect_unheard(&other, s.password == NULL	? "TCPMD5Unexpected"
					       : other.password == NULL ? "TCPMD5NotFound"
									: "TCPMD5Failure");
		}
		script_establish(&s, &n, 2, &o);
		wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	}
	/* An unchanged password is no change. */
	c.password = password[3];
	node_do(&n, call_update, &call);
	assert_false(call.result);
	assert_int_equal(node_view(&n, 1).established_count, 4);
	script_close(&s);
	/* A removed peer leaves no password behind. */
	node_do(&n, call_remove, &call);
	s.password = NULL;
	script_connect(&s, &n, 2, 0);
	assert_null(script_read(&s, WAIT_MS));
	script_close(&s);
	node_end(&n);
}

/* ---- TTL ---- */

/* The node's end of the script's connection, in the same process. */
static int
node_end_of(const struct script *s)
{
	struct sockaddr_in own, peer;
	socklen_t len = sizeof(own);

	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&own, &len), 0);
	for (int fd = 3; fd < 1024; fd++) {
		len = sizeof(peer);
		if (fd != s->fd && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
			peer.sin_family == AF_INET && peer.sin_port == own.sin_port &&
			peer.sin_addr.s_addr == own.sin_addr.s_addr)
			return fd;
	}
	fail_msg("the node has no such connection");
	return -1;
}

static int
ip_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	assert_int_equal(getsockopt(fd, IPPROTO_IP, name, &v, &len), 0);
	return v;
}

struct hops {
	uint32_t asn;
	uint8_t multihop;
	bool gtsm;
	int ttl, min_ttl; /* expected for both connections */
};

static const struct hops hops[] = {
	{PEER_AS, 0, false, 1, 0},
	{PEER_AS, 7, false, 7, 0},
	{OWN_AS, 0, false, 64, 0},
	{OWN_AS, 3, false, 3, 0},
	{PEER_AS, 0, true, 255, 255},
	{OWN_AS, 0, true, 255, 255},
	{PEER_AS, 2, true, 255, 254},
	{PEER_AS, 255, true, 255, 1},
};

static void
check_hops(const struct hops *h)
{
	struct config_peer c = peer_config(h->asn, OWN_AS, 2);
	static struct script ours, theirs;
	uint8_t syn[512];
	socklen_t len = sizeof(syn);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	int listener;

	c.multihop = h->multihop;
	c.gtsm = h->gtsm;
	c.passive = false;
	c.source = loopback(9);
	ours.ttl = theirs.ttl = 255;
	listener = script_listen(&ours, &c.tcp_port);
	begin(&c);
	script_accept(&ours, listener);
	assert_int_equal(getsockopt(ours.fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len), 0);
	assert_int_equal(syn[8], h->ttl);
	assert_int_equal(getpeername(ours.fd, (struct sockaddr *)&from, &from_len), 0);
	assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000009);
	assert_int_equal(ip_option(node_end_of(&ours), IP_MINTTL), h->min_ttl);
	script_connect(&theirs, &n, 2, 0);
	assert_non_null(script_read(&theirs, WAIT_MS));
	assert_int_equal(ip_option(node_end_of(&theirs), IP_TTL), h->ttl);
	assert_int_equal(ip_option(node_end_of(&theirs), IP_MINTTL), h->min_ttl);
	script_close(&ours);
	script_close(&theirs);
	close(listener);
	node_end(&n);
}

static void
test_hops(void **state)
{
	for (unsigned i = 0; i < sizeof(hops) / sizeof(hops[0]); i++)
		check_hops(&hops[i]);
}

static uint32_t
segment_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_int_equal(host_socket_peek(fd).segment, info.tcpi_snd_mss);
	return info.tcpi_snd_mss;
}

/* Both ends of a connection that the node opens send no larger segment; without the key both do. */
static void
test_tcp_mss(void **state)
{
	static struct script ours;

	for (uint16_t mss = 0; mss <= 600; mss += 600) {
		struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
		int listener;

		c.passive = false;
		c.tcp_mss = mss;
		listener = script_listen(&ours, &c.tcp_port);
		begin(&c);
		script_accept(&ours, listener);
		assert_int_equal(segment_of(ours.fd) <= 600, mss != 0);
		assert_int_equal(segment_of(node_end_of(&ours)) <= 600, mss != 0);
		script_close(&ours);
		close(listener);
		node_end(&n);
	}
}

/* The segments of a connection that the listener accepts; the peer has the address 127.0.0.2. */
static uint32_t
accepted_segment(void)
{
	static struct script s;
	uint32_t segment;

	script_connect(&s, &n, 2, 0);
	assert_non_null(script_read(&s, WAIT_MS));
	segment = segment_of(s.fd);
	script_close(&s);
	return segment;
}

/* The listener agrees on the smallest bound of its peers and ranges, and on none when they have gone. */
static void
test_tcp_mss_accepted(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2), b = peer_config(PEER_AS, OWN_AS, 3);
	struct session_policies policies = {.has_import[0] = true};
	struct speaker_range range = {
		.prefix = {.b = {127, 0, 1}, .afi = AFI_IPV4, .len = 24}, .tcp_mss = 400};
	struct node_call change = {.id = {1}, .config = &c, .policies = &policies},
			 gone = {.id = {2}}, ranges = {.ranges = &range, .range_count = 1};

	c.tcp_mss = 600;
	b.tcp_mss = 500;
	begin(&c);
	assert_in_range(accepted_segment(), 560, 600);
	node_peer(&n, 2, &b, policy_accept_all());
	assert_in_range(accepted_segment(), 460, 500);
	node_do(&n, call_ranges, &ranges);
	assert_in_range(accepted_segment(), 360, 400);
	ranges.range_count = 0;
	node_do(&n, call_ranges, &ranges);
	assert_in_range(accepted_segment(), 460, 500);
	node_do(&n, call_remove, &gone);
	assert_in_range(accepted_segment(), 560, 600);
	c.tcp_mss = 0;
	node_do(&n, call_update, &change);
	assert_true(accepted_segment() > 600);
	node_end(&n);
}

/* Packets from a greater distance: first the SYN is dropped, later each segment. */
static void
gtsm(const char *from, const char *to, int level, int name)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, from, V4_BIT);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script s;
	int near = 254, far = 253;
	uint64_t before;

	s = (struct script){.from = addr_of(from).afi == AFI_IPV6 ? from : NULL, .to = to};
	c.gtsm = true;
	c.multihop = 2;
	begin(&c);
	s.ttl = far;
	script_connect(&s, &n, 2, 0);
	assert_null(script_read(&s, WAIT_MS));
	script_close(&s);
	assert_non_null(strstr(node_view(&n, 1).last_error, "too far away"));
	s.ttl = near;
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	before = kernel_counter("TCPMinTTLDrop");
	assert_int_equal(setsockopt(s.fd, level, name, &far, sizeof(far)), 0);
	script_send_end_of_rib(&s, FAMILY_IPV4_UNICAST);
	wait_for(kernel_counter("TCPMinTTLDrop") > before);
	assert_int_equal(node_view(&n, 1).updates_received, 0);
	assert_int_equal(setsockopt(s.fd, level, name, &near, sizeof(near)), 0);
	wait_for(node_view(&n, 1).updates_received == 1); /* retransmitted by TCP */
	assert_int_equal(node_view(&n, 1).established_count, 1);
	script_close(&s);
	node_end(&n);
}

static void
test_gtsm(void **state)
{
	gtsm("127.0.0.2", NULL, IPPROTO_IP, IP_TTL);
	gtsm("2001:db8:1::2", "2001:db8:1::1", IPPROTO_IPV6, IPV6_UNICAST_HOPS);
}

/* A peer with GTSM accepts our SYN-ACK: the listener always answers with TTL 255. */
static void
test_gtsm_asked(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	static struct script s = {.ttl = 255, .min_ttl = 255};

	c.gtsm = true;
	begin(&c);
	script_connect(&s, &n, 2, 0);
	assert_non_null(script_read(&s, WAIT_MS));
	assert_int_equal(s.type, BGP_OPEN);
	script_close(&s);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_md5_v4),
		cmocka_unit_test(test_md5_v6),
		cmocka_unit_test(test_md5_link_local),
		cmocka_unit_test(test_md5_connected),
		cmocka_unit_test(test_md5_changes),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_tcp_mss),
		cmocka_unit_test(test_tcp_mss_accepted),
		cmocka_unit_test(test_gtsm),
		cmocka_unit_test(test_gtsm_asked),
	};

	role_enter_main();
	if (!own_net_enter())
		return 77; /* addresses in 2001:db8:1::/64, and separate counters */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
