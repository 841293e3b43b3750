/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions over IPv6 and over link-local addresses, both families on one session, IPv6 next hops and their zones (RFC 4760, 2545, 8950).
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define BOTH (1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST)

static unsigned
paths(struct node *n, const char *prefix, char *next_hop)
{
	struct ip_addr a;
	struct prefix p;
	unsigned count;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	count = node_paths_of(n, &p, &a);
	if (count > 0 && next_hop != NULL)
		addr_format(&a, next_hop);
	return count;
}

#define expect_next_hop(n, prefix, text)                                                           \
	do {                                                                                       \
		char got_[ADDR_TEXT_MAX] = "";                                                     \
		wait_for(paths(n, prefix, got_) == 1);                                             \
		assert_string_equal(got_, text);                                                   \
	} while (0)

static void
attrs_of(union script_attrs *out, const char *next_hop, const char *link_local)
{
	script_attrs(out, PEER_AS, 0);
	out->a.next_hop = addr_of(next_hop);
	if (link_local != NULL)
		out->a.next_hop_link_local = addr_of(link_local);
}

static struct bgp_open_options
open_of(uint8_t families)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	o.families = families;
	return o;
}

/*
 * Two speakers connect to each other, at addresses `a` and `b`; a single session with both families
 * results.
 */
static void
two_speakers(const char *at_a, const char *at_b)
{
	static struct node a, b;
	struct config_peer of_a = peer_config_at(PEER_AS, OWN_AS, at_b, BOTH),
			   of_b = peer_config_at(OWN_AS, PEER_AS, at_a, BOTH);
	struct session_view v;
	char text[ADDR_TEXT_MAX];

	node_begin(&a, OWN_AS, OWN_ID);
	node_begin(&b, PEER_AS, PEER_ID);
	of_a.passive = of_b.passive = false;
	of_a.tcp_port = b.port;
	of_b.tcp_port = a.port;
	of_a.source = addr_of(at_a);
	of_b.source = addr_of(at_b);
	of_b.source.zone = 0; /* the zone is in the peer's address */
	node_peer(&a, 1, &of_a, policy_accept_all());
	node_peer(&b, 1, &of_b, policy_accept_all());
	wait_for(node_view(&a, 1).state == FSM_ESTABLISHED &&
		 node_view(&b, 1).state == FSM_ESTABLISHED);
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (BOTH >> f & 1)
			wait_for(node_view(&a, 1).families[f].end_of_rib_received &&
				 node_view(&b, 1).families[f].end_of_rib_received);
	}
	v = node_view(&a, 1);
	assert_string_equal(addr_format(&v.local_addr, text), at_a);
	assert_true(v.families[0].negotiated && v.families[1].negotiated);
	node_end(&a);
	wait_for(node_view(&b, 1).state != FSM_ESTABLISHED);
	node_end(&b);
}

static void
test_two_speakers(void **state)
{
	two_speakers("2001:db8:1::1", "2001:db8:1::2");
	two_speakers("fe80::1%east", "fe80::2%east");
	two_speakers("fe80::2%west", "fe80::1%west");
}

/* The same address on two links belongs to two peers, each with its own AS. */
static void
test_zones(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "fe80::2%east", BOTH),
			   d = peer_config_at(PEER_AS + 1, OWN_AS, "fe80::2%west", BOTH);
	static struct script east = {.from = "fe80::2%east", .to = "fe80::1%east"},
			     west = {.from = "fe80::2%west", .to = "fe80::1%west"};
	struct bgp_open_options o = open_of(BOTH), p = open_of(BOTH);
	union script_attrs attrs;
	static struct node n;

	p.asn = PEER_AS + 1;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	script_establish(&west, &n, 0, &p);
	script_establish(&east, &n, 0, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED &&
		 node_view(&n, 2).state == FSM_ESTABLISHED);
	assert_int_equal(node_view(&n, 1).remote_asn, PEER_AS);
	assert_int_equal(node_view(&n, 2).remote_asn, PEER_AS + 1);
	attrs_of(&attrs, "::", "fe80::9");
	script_send_prefix(&east, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	script_send_prefix(&west, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:b::/48");
	expect_next_hop(&n, "2001:db8:a::/48", "fe80::9%east");
	expect_next_hop(&n, "2001:db8:b::/48", "fe80::9%west");
	script_close(&east);
	script_close(&west);
	node_end(&n);
}

/*
 * Link-local next hops belong to the link shared with the peer, over any session; a peer several
 * hops away cannot use link-local next hops.
 */
static void
test_link_local_next_hops(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH),
			   d = peer_config_at(PEER_AS, OWN_AS, "2001:db8:9::9", BOTH);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"},
			     far = {.from = "2001:db8:9::9", .to = "2001:db8:1::1"};
	struct bgp_open_options o = open_of(BOTH);
	union script_attrs attrs;
	static struct node n;

	d.multihop = 8;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	script_establish(&s, &n, 0, &o);
	attrs_of(&attrs, "2001:db8:1::9", "fe80::9");
	script_send_prefix(&s, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	expect_next_hop(&n, "2001:db8:a::/48", "2001:db8:1::9");
	attrs_of(&attrs, "fe80::9", NULL);
	script_send_prefix(&s, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:b::/48");
	expect_next_hop(&n, "2001:db8:b::/48", "fe80::9%east");
	/* Our own address (RFC 4271 5.1.3). */
	attrs_of(&attrs, "2001:db8:1::1", NULL);
	script_send_prefix(&s, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	wait_for(paths(&n, "2001:db8:a::/48", NULL) == 0);
	script_send_prefix(&s, FAMILY_IPV6_UNICAST, NULL, "2001:db8:b::/48");
	wait_for(paths(&n, "2001:db8:b::/48", NULL) == 0);
	script_establish(&far, &n, 0, &o);
	attrs_of(&attrs, "2001:db8:9::9", "fe80::9");
	script_send_prefix(&far, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	expect_next_hop(&n, "2001:db8:a::/48", "2001:db8:9::9");
	attrs_of(&attrs, "fe80::9", NULL);
	script_send_prefix(&far, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:b::/48");
	expect_next_hop(&n, "2001:db8:b::/48", "fe80::9");
	script_close(&s);
	script_close(&far);
	node_end(&n);
}

/*
 * An UPDATE with RFC 4271's fields and MP_REACH_NLRI: each part has its own next hop (RFC 4760 3).
 */
static void
test_both_in_one(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"};
	struct bgp_open_options o = open_of(BOTH);
	static const uint8_t attrs[] = {0x80, 14, 28, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 9, 0, 48, 0x20, 1, 0xd, 0xb8, 0, 0xa, 0x40, 1, 1, 0, 0x40, 2,
		6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 192, 0, 2, 99},
			     nlri[] = {24, 203, 0, 113};
	uint8_t msg[128];
	struct wr w = wr_init(msg, sizeof(msg));
	static struct node n;

	memset(wr_reserve(&w, 16), 0xff, 16);
	wr_u16(&w, 23 + sizeof(attrs) + sizeof(nlri));
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, sizeof(attrs));
	wr_bytes(&w, attrs, sizeof(attrs));
	wr_bytes(&w, nlri, sizeof(nlri));
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 0, &o);
	script_send(&s, msg, wr_len(&w));
	expect_next_hop(&n, "2001:db8:a::/48", "2001:db8:1::9");
	expect_next_hop(&n, "203.0.113.0/24", "192.0.2.99");
	script_close(&s);
	node_end(&n);
}

/*
 * RFC 8950: IPv4 with an IPv6 next hop if both sides negotiated the capability; otherwise an error.
 */
static void
test_extended_next_hop(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "fe80::2%east", BOTH);
	static struct script s = {.from = "fe80::2%east", .to = "fe80::1%east"};
	struct bgp_open_options o = open_of(BOTH);
	union script_attrs attrs;
	struct session_view v;
	struct bgp_open ours;
	static struct node n;

	c.capabilities.extended_next_hop = true;
	o.extended_next_hop = 1u << FAMILY_IPV4_UNICAST;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 0, &o);
	attrs_of(&attrs, "::", "fe80::9");
	script_send_prefix(&s, FAMILY_IPV4_UNICAST, &attrs.a, "203.0.113.0/24");
	expect_next_hop(&n, "203.0.113.0/24", "fe80::9%east");
	v = node_view(&n, 1);
	assert_true(v.extended_next_hop.local && v.extended_next_hop.remote &&
		    v.extended_next_hop.negotiated);
	assert_true(v.families[FAMILY_IPV4_UNICAST].extended_next_hop);
	assert_false(v.families[FAMILY_IPV6_UNICAST].extended_next_hop);
	script_send_prefix(&s, FAMILY_IPV4_UNICAST, NULL, "203.0.113.0/24");
	wait_for(paths(&n, "203.0.113.0/24", NULL) == 0);
	script_close(&s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);

	script_greet(&s, &n, 0);
	assert_int_equal(bgp_open_decode(s.buf, s.len, &ours).severity, BGP_OK);
	assert_int_equal(ours.extended_next_hop, 1u << FAMILY_IPV4_UNICAST);
	assert_int_equal(ours.families, BOTH);
	assert_true(
		ours.graceful_restart && ours.restart_notification && ours.restart_families == 0);
	o.extended_next_hop = 0;
	script_send_open(&s, &o);
	assert_non_null(script_read(&s, WAIT_MS));
	script_send_keepalive(&s);
	script_send_prefix(&s, FAMILY_IPV4_UNICAST, &attrs.a, "203.0.113.0/24");
	script_expect_notification(&s, ERR_UPDATE, UPDATE_OPTIONAL_ATTRIBUTE);
	script_close(&s);
	node_end(&n);
}

/* Reads until `prefix` is announced. The next hop field as "global link-local", without zones. */
static void
next_hops_of(struct script *s, const char *prefix, char out[2 * ADDR_TEXT_MAX])
{
	struct prefix want;
	char global[ADDR_TEXT_MAX], second[ADDR_TEXT_MAX];

	assert_int_equal(prefix_parse(prefix, &want), 0);
	for (;;) {
		struct bgp_update u;
		const struct attr_set *a = script_decode(s, script_next(s), BOTH, &u);
		struct nlri nlri;

		for (unsigned i = 0; i < u.announced_count; i++) {
			while (nlri_read(
				&u.announced[i].nlri, u.announced[i].family, false, &nlri)) {
				if (!prefix_equal(&nlri.prefix, &want))
					continue;
				snprintf(out, 2 * ADDR_TEXT_MAX, "%s%s%s",
					addr_format(&a->next_hop, global),
					a->next_hop_link_local.afi != AFI_NONE ? " " : "",
					a->next_hop_link_local.afi != AFI_NONE
						? addr_format(&a->next_hop_link_local, second)
						: "");
				return;
			}
		}
	}
}

#define expect_next_hops(s, prefix, text)                                                          \
	do {                                                                                       \
		char got_[2 * ADDR_TEXT_MAX];                                                      \
		next_hops_of(s, prefix, got_);                                                     \
		assert_string_equal(got_, text);                                                   \
	} while (0)

/*
 * RFC 7947 2.2.1, RFC 2545 3: a route server, or next_hop_unchanged, passes both halves of a next hop to a peer on the
 * link of the link-local half, as received. Elsewhere the half means nothing.
 */
static void
next_hops_passed_on(bool route_server)
{
	struct config_peer from = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH),
			   same = peer_config_at(PEER_AS + 1, OWN_AS, "fe80::2%east", BOTH),
			   other = peer_config_at(PEER_AS + 2, OWN_AS, "fe80::2%west", BOTH);
	static struct script source, east, west;
	struct bgp_open_options o = open_of(BOTH), p = open_of(BOTH), q = open_of(BOTH);
	union script_attrs attrs;
	static struct node n;

	source = (struct script){.from = "2001:db8:1::2", .to = "2001:db8:1::1"};
	east = (struct script){.from = "fe80::2%east", .to = "fe80::1%east"};
	west = (struct script){.from = "fe80::2%west", .to = "fe80::1%west"};
	p.asn = PEER_AS + 1;
	p.identifier++;
	q.asn = PEER_AS + 2;
	q.identifier += 2;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		same.families[f].next_hop_unchanged = other.families[f].next_hop_unchanged =
			!route_server;
		same.families[f].route_server_client = other.families[f].route_server_client =
			route_server;
	}
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &from, policy_accept_all());
	node_peer(&n, 2, &same, policy_accept_all());
	node_peer(&n, 3, &other, policy_accept_all());
	script_establish(&source, &n, 0, &o);
	script_establish(&east, &n, 0, &p);
	script_establish(&west, &n, 0, &q);
	attrs_of(&attrs, "2001:db8:1::9", "fe80::9");
	script_send_prefix(&source, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	expect_next_hops(&east, "2001:db8:a::/48", "2001:db8:1::9 fe80::9");
	expect_next_hops(&west, "2001:db8:a::/48", "2001:db8:1::9");
	attrs_of(&attrs, "fe80::9", NULL);
	script_send_prefix(&source, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:b::/48");
	expect_next_hops(&east, "2001:db8:b::/48", "fe80::9");
	expect_next_hops(&west, "2001:db8:b::/48", ":: fe80::1");
	attrs_of(&attrs, "::", "fe80::9");
	script_send_prefix(&source, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:c::/48");
	expect_next_hops(&east, "2001:db8:c::/48", ":: fe80::9");
	expect_next_hops(&west, "2001:db8:c::/48", ":: fe80::1");
	/* only the link-local half changes */
	attrs_of(&attrs, "2001:db8:1::9", "fe80::a");
	script_send_prefix(&source, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	expect_next_hops(&east, "2001:db8:a::/48", "2001:db8:1::9 fe80::a");
	script_close(&source);
	script_close(&east);
	script_close(&west);
	node_end(&n);
}

static void
test_next_hops_passed_on(void **state)
{
	(void)state;
	next_hops_passed_on(true);
	next_hops_passed_on(false);
}

/*
 * A family configured on one side is not negotiated, without an error, and its routes are not
 * accepted.
 */
static void
test_family_not_negotiated(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"};
	struct bgp_open_options o = open_of(1u << FAMILY_IPV4_UNICAST);
	union script_attrs attrs;
	static struct node n;

	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 0, &o);
	attrs_of(&attrs, "2001:db8:1::9", NULL);
	script_send_prefix(&s, FAMILY_IPV6_UNICAST, &attrs.a, "2001:db8:a::/48");
	attrs_of(&attrs, "192.0.2.99", NULL);
	script_send_prefix(&s, FAMILY_IPV4_UNICAST, &attrs.a, "203.0.113.0/24");
	expect_next_hop(&n, "203.0.113.0/24", "192.0.2.99");
	assert_int_equal(paths(&n, "2001:db8:a::/48", NULL), 0);
	assert_true(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].negotiated);
	assert_false(node_view(&n, 1).families[FAMILY_IPV6_UNICAST].negotiated);
	script_close(&s);
	node_end(&n);
}

/* ---- families of a session ---- */

#define ROUTES 20000u
#define HOPS 80u /* some 350 octets in each message */
#define UNTOLD 300000u
#define NO_ADVERTISE "\xff\xff\xff\x02"

/* Routes with large attributes, each in its own message. */
static void
call_dump(void *arg)
{
	struct node *n = arg;
	union script_attrs attrs;

	role_enter_rib();
	memset(&attrs, 0, sizeof(attrs));
	attrs.a.next_hop = addr_of("192.0.2.99");
	attrs.a.has = ATTR_HAS_MED;
	attrs.a.var[0] = 2;
	attrs.a.var[1] = HOPS;
	for (unsigned i = 0; i < HOPS; i++)
		attrs.a.var[5 + 4 * i] = (uint8_t)(1 + i);
	attrs.a.as_path_len = 2 + 4 * HOPS;
	attr_set_derive(&attrs.a);
	for (unsigned i = 0; i < ROUTES; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 24);

		attrs.a.med = i;
		assert_int_equal(
			shard_originate(n->shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &p, &attrs.a),
			0);
	}
}

static void
call_change(void *arg)
{
	struct node *n = arg;
	union script_attrs attrs;
	struct prefix p;

	role_enter_rib();
	script_attrs(&attrs, 0, 0);
	attrs.a.next_hop = addr_of("2001:db8:1::9");
	assert_int_equal(prefix_parse("2001:db8:a::/48", &p), 0);
	assert_int_equal(
		shard_originate(n->shard, VRF_DEFAULT, FAMILY_IPV6_UNICAST, &p, &attrs.a), 0);
}

/* Many IPv4 routes that are not advertised, and a single advertised route. */
static void
storm(struct node *n, uint32_t med) RUNS_ON(role_rib)
{
	union script_attrs attrs;

	script_attrs(&attrs, 0, 0xc0000263);
	attrs.a.has |= ATTR_HAS_MED;
	attrs.a.med = med;
	memcpy(attrs.a.var, NO_ADVERTISE, 4);
	attrs.a.community_count = 1;
	attr_set_derive(&attrs.a);
	for (unsigned i = 0; i <= UNTOLD; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i, 32);

		if (i == UNTOLD)
			attrs.a.community_count = 0;
		assert_int_equal(
			shard_originate(n->shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &p, &attrs.a),
			0);
	}
}

static void
call_storm(void *arg)
{
	role_enter_rib();
	storm(arg, 1);
}

static void
call_storm_again(void *arg)
{
	role_enter_rib();
	storm(arg, 2);
	call_change(arg);
}

/*
 * On the session thread, so that the session sees all changes at once. (No table may grow in the
 * call: growth waits for readers.)
 */
static void
call_late(void *arg)
{
	struct node *n = arg;

	thread_call(n->rib[0], call_storm_again, n);
}

/* Counts the announced prefixes of the next message by family. */
static void
next_announced(struct script *s, unsigned count[FAMILY_COUNT])
{
	struct bgp_update u;

	(void)script_decode(s, script_next(s), BOTH, &u);
	for (unsigned i = 0; i < u.announced_count; i++)
		count[u.announced[i].family] += script_prefixes(&u.announced[i]);
}

/*
 * A dump of IPv4 keeps the output full; an IPv6 change gets its turn without waiting for the end of
 * the dump.
 */
static void
test_families_take_turns(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"};
	struct bgp_open_options o = open_of(BOTH);
	unsigned count[FAMILY_COUNT] = {0}, changed_at;
	static struct node n;

	(void)state;
	assert_true(own_net_takes_little());
	node_begin(&n, OWN_AS, OWN_ID);
	thread_call(n.rib[0], call_dump, &n);
	node_peer(&n, 1, &c, policy_accept_all());
	script_connect(&s, &n, 0, 8192);
	assert_non_null(script_read(&s, WAIT_MS));
	script_send_open(&s, &o);
	assert_non_null(script_read(&s, WAIT_MS));
	script_send_keepalive(&s);
	while (count[FAMILY_IPV4_UNICAST] < ROUTES / 10)
		next_announced(&s, count);
	thread_call(n.rib[0], call_change, &n);
	thread_wake(n.rib[0]);
	changed_at = count[FAMILY_IPV4_UNICAST];
	for (unsigned i = 0; count[FAMILY_IPV6_UNICAST] == 0; i++) {
		if (i % 20 == 0)
			breathe(); /* slower than the packing */
		next_announced(&s, count);
	}
	print_message("told after %u of IPv4\n", count[FAMILY_IPV4_UNICAST] - changed_at);
	/* at most the buffered messages, plus a turn of the other family */
	assert_in_range(count[FAMILY_IPV4_UNICAST], changed_at, changed_at + ROUTES / 4);
	while (count[FAMILY_IPV4_UNICAST] < ROUTES)
		next_announced(&s, count);
	script_close(&s);
	node_end(&n);
}

/*
 * The output has room, but IPv4 could use all processor time: its only advertised route comes last
 * of many.
 */
static void
test_families_share_time(void **state)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "2001:db8:1::2", BOTH);
	static struct script s = {.from = "2001:db8:1::2", .to = "2001:db8:1::1"};
	struct bgp_open_options o = open_of(BOTH);
	unsigned count[FAMILY_COUNT] = {0};
	static struct node n;

	(void)state;
	node_begin(&n, OWN_AS, OWN_ID);
	thread_call(n.rib[0], call_storm, &n);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 0, &o);
	for (unsigned i = 0; i < 3; i++) /* plus End-of-RIB of both families */
		next_announced(&s, count);
	assert_int_equal(count[FAMILY_IPV4_UNICAST], 1);
	thread_call(n.session, call_late, &n);
	next_announced(&s, count);
	assert_int_equal(count[FAMILY_IPV6_UNICAST], 1);
	next_announced(&s, count);
	assert_int_equal(count[FAMILY_IPV4_UNICAST], 2);
	script_close(&s);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_speakers),
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_link_local_next_hops),
		cmocka_unit_test(test_both_in_one),
		cmocka_unit_test(test_extended_next_hop),
		cmocka_unit_test(test_next_hops_passed_on),
		cmocka_unit_test(test_family_not_negotiated),
		cmocka_unit_test(test_families_share_time),
		cmocka_unit_test(test_families_take_turns),
	};

	if (!own_net_enter())
		return 77;
	zone_intern("east");
	zone_intern("west");
	role_enter_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
