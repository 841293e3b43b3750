/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions with VPNv4 and VPNv6 (RFC 4364, 4659, 8277): negotiation, received routes and withdrawals in the tables, unusable
 * labels, malformed NLRI, refresh, graceful restart, max_prefixes, with one shard and with several.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define VPNV4 FAMILY_VPNV4_UNICAST
#define VPNV6 FAMILY_VPNV6_UNICAST
#define BOTH (1u << VPNV4 | 1u << VPNV6)
#define NO_PATH UINT32_MAX

static struct node n;
static struct script s;

/* A route of the script: the prefix of its number, in one of two instances. */
struct route {
	enum family family;
	unsigned number;
	uint64_t rd;
	uint32_t label;
};

static struct prefix
prefix_of(const struct route *r)
{
	struct prefix p;
	char text[PREFIX_TEXT_MAX];

	if (r->family == VPNV4)
		snprintf(text, sizeof(text), "10.%u.0.0/16", r->number);
	else
		snprintf(text, sizeof(text), "2001:db8:%x::/48", r->number);
	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}

/* An UPDATE with the routes, all of one family; withdraws if `attrs` is NULL. Returns the length. */
static size_t
vpn_update(uint8_t *msg, const struct attr_set *attrs, const struct route *r, unsigned count)
{
	struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	struct update_packer u;

	assert_true(update_packer_begin(&u, r->family, attrs, &o, msg, BGP_MSG_MAX));
	for (unsigned i = 0; i < count; i++) {
		uint8_t label[LABEL_OCTETS];
		struct nlri nlri = {.prefix = prefix_of(&r[i]),
			.rd = {r[i].rd},
			.label_count = 1,
			.labels = label};

		label_put(label, r[i].label, true);
		assert_true(update_packer_add_form(&u, &nlri));
	}
	return update_packer_finish(&u);
}

static void
send_routes(const struct attr_set *attrs, const struct route *r, unsigned count)
{
	uint8_t msg[BGP_MSG_MAX];

	script_send(&s, msg, vpn_update(msg, attrs, r, count));
}

#define TARGET "\x00\x02\xfc\x00\x00\x00\x00\x07" /* rt:64512:7 */

/* Attributes with a route target. */
static void
vpn_attrs(union script_attrs *a)
{
	script_attrs(a, PEER_AS, NEXT_HOP);
	memcpy(a->a.var + a->a.as_path_len, TARGET, 8);
	a->a.ext_community_count = 1;
	attr_set_derive(&a->a);
}

/* The label of the only path of a route in the table; NO_PATH without one. */
static uint32_t
label_of(const struct route *r)
{
	struct prefix p = prefix_of(r);
	struct shards_table t;
	uint32_t label = NO_PATH;
	struct dest_view v;

	shards_table(&n.shards, n.vpn[r->family - VPNV4], &t);
	qsbr_online(n.readers, n.reader);
	if (shards_peek(&t, shards_find_rd(&t, (struct vpn_rd){r->rd}, &p), &v) &&
		v.paths != NULL && v.paths->count > 0) {
		const struct attr_set *a;

		assert_int_equal(v.paths->count, 1);
		assert_int_equal(v.rd.v, r->rd);
		label = v.paths->path[0].label_flags >> 12;
		a = attr_of(shard_attrs(n.shard), v.paths->path[0].accepted);
		if (n.shards.count == 1) {
			assert_int_equal(a->ext_community_count, 1);
			assert_memory_equal(attr_ext_communities(a), TARGET, 8);
		}
	}
	qsbr_offline(n.readers, n.reader);
	return label;
}

static struct adj_rib_in_counts
counts_of(enum family f)
{
	struct adj_rib_in_counts c;

	shards_peer_counts(&n.shards, (struct peer_id){1}, f, &c);
	return c;
}

static uint64_t
refused(enum family f, enum refused_cause cause)
{
	uint64_t count[REFUSED_CAUSES];

	shards_peer_refused(&n.shards, (struct peer_id){1}, f, count);
	return count[cause];
}

static void
greet(void)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	o.families = BOTH;
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
}

static struct config_peer
vpn_config(void)
{
	struct config_peer c = peer_config_at(PEER_AS, OWN_AS, "127.0.0.2", BOTH);

	c.timers.idle_hold_s = 1;
	return c;
}

static void
begin(const struct config_peer *c)
{
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, c, policy_accept_all());
	greet();
}

static void
end(void)
{
	script_close(&s);
	node_end(&n);
}

#define RD_A 0x0000fc0000000001u /* 64512:1 */
#define RD_B 0x0001c00002010002u /* 192.0.2.1:2 */
#define RD_UNKNOWN 0x00070102030405u << 8 /* of an unknown type: opaque */

/* The same prefixes under three distinguishers are three routes; withdrawals find them by distinguisher. */
static void
check_routes(void)
{
	const struct route routes[] = {{VPNV4, 1, RD_A, 16}, {VPNV4, 1, RD_B, 17},
		{VPNV4, 1, RD_UNKNOWN, 3}, {VPNV4, 2, RD_A, 0xffffe}, {VPNV6, 1, RD_A, 0},
		{VPNV6, 1, RD_B, 0x12345}};
	struct config_peer c = vpn_config();
	union script_attrs a;
	struct route again;

	begin(&c);
	assert_true(node_view(&n, 1).families[VPNV4].negotiated);
	assert_true(node_view(&n, 1).families[VPNV6].negotiated);
	assert_false(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].negotiated);
	vpn_attrs(&a);
	send_routes(&a.a, routes, 4);
	send_routes(&a.a, routes + 4, 2);
	for (unsigned i = 0; i < 6; i++)
		wait_for(label_of(&routes[i]) == routes[i].label);
	wait_for(counts_of(VPNV4).received == 4);
	wait_for(counts_of(VPNV6).accepted == 2);
	again = routes[1];
	again.label = 18;
	send_routes(&a.a, &again, 1);
	wait_for(label_of(&again) == 18);
	/* RFC 8277 2.4: the octets of the label in a withdrawal have no meaning */
	send_routes(NULL, &routes[0], 1);
	wait_for(label_of(&routes[0]) == NO_PATH);
	assert_int_equal(label_of(&again), 18);
	send_routes(NULL, &routes[5], 1);
	wait_for(label_of(&routes[5]) == NO_PATH);
	assert_int_equal(label_of(&routes[4]), 0);
	wait_for(counts_of(VPNV4).received == 3);
	wait_for(counts_of(VPNV6).received == 1);
	script_close(&s);
	wait_for(label_of(&again) == NO_PATH && label_of(&routes[4]) == NO_PATH);
	node_end(&n);
}

static void
test_routes(void **state)
{
	check_routes();
}

static void
test_routes_in_shards(void **state)
{
	node_shards = 3;
	check_routes();
	node_shards = 1;
}

/* All octets of an UPDATE that decide about the label of a withdrawal: 0x000000 and 0x800000 (RFC 3107), a real label. */
static void
test_withdraw_labels(void **state)
{
	static const uint8_t octets[][LABEL_OCTETS] = {{0, 0, 0}, {0x80, 0, 0}, {0, 1, 1}};
	struct route r = {VPNV4, 7, RD_A, 99};
	struct config_peer c = vpn_config();
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;

	begin(&c);
	vpn_attrs(&a);
	for (unsigned i = 0; i < 3; i++) {
		size_t len = vpn_update(msg, NULL, &r, 1);

		send_routes(&a.a, &r, 1);
		wait_for(label_of(&r) == 99);
		/* behind the label: distinguisher and two octets of the prefix */
		memcpy(msg + len - 10 - LABEL_OCTETS, octets[i], LABEL_OCTETS);
		script_send(&s, msg, len);
		wait_for(label_of(&r) == NO_PATH);
	}
	end();
}

static struct session_fault faults[SESSION_FAULTS];

/* Labels 4 to 15 are refused, counted and recorded; the other prefixes of the UPDATE are not affected. */
static void
test_unusable_labels(void **state)
{
	struct route routes[16];
	struct config_peer c = vpn_config();
	union script_attrs a;

	begin(&c);
	vpn_attrs(&a);
	for (unsigned i = 0; i < 16; i++)
		routes[i] = (struct route){VPNV4, i + 1, RD_A, 1000};
	send_routes(&a.a, routes, 16);
	wait_for(counts_of(VPNV4).received == 16);
	for (unsigned i = 0; i < 16; i++)
		routes[i].label = i;
	send_routes(&a.a, routes, 16);
	wait_for(refused(VPNV4, REFUSED_UNUSABLE_LABEL) == 12);
	for (unsigned i = 0; i < 16; i++)
		wait_for(label_of(&routes[i]) == (i < 4 ? i : NO_PATH));
	wait_for(counts_of(VPNV4).rejected_total == 12);
	assert_int_equal(node_faults(&n, 1, faults), 1);
	assert_int_equal(faults[0].family, VPNV4);
	assert_int_equal(faults[0].prefixes, 12);
	assert_string_equal(
		faults[0].text, "label 4 is not usable, expected 0 to 3 or 16 to 1048574");
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	end();
}

/* RFC 7606 2: treat-as-withdraw reaches each prefix by its distinguisher. */
static void
test_treat_as_withdraw(void **state)
{
	const struct route routes[] = {
		{VPNV6, 1, RD_A, 20}, {VPNV6, 1, RD_B, 21}, {VPNV6, 2, RD_A, 9}};
	struct config_peer c = vpn_config();
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;
	size_t len;

	begin(&c);
	vpn_attrs(&a);
	send_routes(&a.a, routes, 2);
	wait_for(label_of(&routes[1]) == 21);
	len = vpn_update(msg, &a.a, routes + 1, 2);
	/* ORIGIN follows MP_REACH_NLRI: header, length field, attribute of extended length */
	msg[BGP_HEADER_LEN + 4 + 4 + (msg[BGP_HEADER_LEN + 6] << 8 | msg[BGP_HEADER_LEN + 7]) + 3] =
		9;
	script_send(&s, msg, len);
	wait_for(label_of(&routes[1]) == NO_PATH);
	assert_int_equal(label_of(&routes[0]), 20);
	wait_for(refused(VPNV6, REFUSED_MALFORMED_ORIGIN) == 2);
	assert_int_equal(refused(VPNV6, REFUSED_UNUSABLE_LABEL), 0);
	assert_int_equal(node_faults(&n, 1, faults), 1);
	assert_int_equal(faults[0].family, VPNV6);
	assert_int_equal(faults[0].prefixes, 2);
	end();
}

/* RFC 4456 8: a reflector sends our own route back, with our address as next hop. A loop, not a fault of the peer. */
static void
test_own_route_returns(void **state)
{
	const struct route own = {VPNV4, 1, RD_A, 20}, other = {VPNV4, 2, RD_A, 21};
	struct config_peer c = peer_config_at(OWN_AS, OWN_AS, "127.0.0.2", BOTH);
	struct bgp_open_options o = script_open(OWN_AS, PEER_ID);
	union script_attrs a;

	o.families = BOTH;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 2, &o);
	vpn_attrs(&a);
	a.a.has |= ATTR_HAS_LOCAL_PREF | ATTR_HAS_ORIGINATOR_ID;
	a.a.originator_id = OWN_ID;
	a.a.next_hop = addr_from_v4(0x7f000001);
	attr_set_derive(&a.a);
	send_routes(&a.a, &own, 1);
	a.a.originator_id = PEER_ID;
	attr_set_derive(&a.a);
	send_routes(&a.a, &other, 1);
	wait_for(refused(VPNV4, REFUSED_MALFORMED_MP_REACH) == 1);
	wait_for(refused(VPNV4, REFUSED_ORIGINATOR_LOOP) == 1);
	assert_int_equal(label_of(&own), NO_PATH);
	assert_int_equal(node_faults(&n, 1, faults), 1);
	end();
}

/* RFC 7606 5.3: NLRI that cannot be parsed end the session. */
static void
test_malformed(void **state)
{
	const struct route r = {VPNV4, 1, RD_A, 20};
	struct config_peer c = vpn_config();
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;
	size_t len;

	begin(&c);
	vpn_attrs(&a);
	len = vpn_update(msg, &a.a, &r, 1);
	/* the length of the prefix: 24 bits of label, 64 of the distinguisher, 16; in MP_REACH_NLRI behind a next hop of 12 octets */
	assert_int_equal(msg[BGP_HEADER_LEN + 4 + 4 + 3 + 1 + 12 + 1], 24 + 64 + 16);
	msg[BGP_HEADER_LEN + 4 + 4 + 3 + 1 + 12 + 1] = 24 + 64 - 8;
	script_send(&s, msg, len);
	script_expect_notification(&s, ERR_UPDATE, UPDATE_OPTIONAL_ATTRIBUTE);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	assert_int_equal(node_faults(&n, 1, faults), 1);
	assert_int_equal(faults[0].severity, SESSION_RESET);
	assert_string_equal(faults[0].text,
		"mp-reach-nlri: the length of a prefix leaves no room for a route distinguisher");
	end();
}

/* RFC 7313 4: routes of the family that the answer does not repeat are swept; other families stay. */
static void
test_refresh(void **state)
{
	const struct route routes[] = {
		{VPNV4, 1, RD_A, 20}, {VPNV4, 1, RD_B, 21}, {VPNV6, 1, RD_A, 22}};
	struct node_call call = {.id = {1}, .family = VPNV4, .job = 5};
	struct config_peer c = vpn_config();
	struct bgp_refresh refresh = {0};
	union script_attrs a;
	uint8_t msg[64];

	begin(&c);
	vpn_attrs(&a);
	send_routes(&a.a, routes, 2);
	send_routes(&a.a, routes + 2, 1);
	script_send_end_of_rib(&s, VPNV4);
	script_send_end_of_rib(&s, VPNV6);
	wait_for(node_view(&n, 1).families[VPNV6].end_of_rib_received);
	assert_true(node_view(&n, 1).families[VPNV4].end_of_rib_received);
	wait_for(label_of(&routes[2]) == 22); /* the shard may be behind the session */
	node_do(&n, call_refresh_import, &call);
	assert_int_equal(call.result, REFRESH_SENT);
	while (script_next(&s) != NULL && s.type != BGP_ROUTE_REFRESH)
		;
	assert_int_equal(bgp_refresh_decode(s.buf, s.len, true, &refresh).severity, BGP_OK);
	assert_int_equal(refresh.afi, AFI_IPV4);
	assert_int_equal(refresh.safi, SAFI_VPN);
	script_send(&s, msg, bgp_refresh_encode(VPNV4, REFRESH_BEGIN, msg, sizeof(msg)));
	send_routes(&a.a, routes + 1, 1);
	script_send(&s, msg, bgp_refresh_encode(VPNV4, REFRESH_END, msg, sizeof(msg)));
	wait_for(label_of(&routes[0]) == NO_PATH);
	assert_int_equal(label_of(&routes[1]), 21);
	assert_int_equal(label_of(&routes[2]), 22);
	wait_for(node_events(&n, SESSION_REFRESH_DONE, 5) == 1);
	wait_for(counts_of(VPNV4).stale_swept == 1);
	assert_int_equal(counts_of(VPNV6).stale_swept, 0);
	end();
}

/* RFC 4724: a family with the capability is retained, and End-of-RIB sweeps the rest. */
static void
test_restart(void **state)
{
	const struct route routes[] = {
		{VPNV4, 1, RD_A, 20}, {VPNV4, 1, RD_B, 21}, {VPNV6, 1, RD_A, 22}};
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct config_peer c = vpn_config();
	union script_attrs a;

	o.families = BOTH;
	o.restart_families = o.forwarding_families = 1u << VPNV4;
	o.restart_time_s = 120;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	vpn_attrs(&a);
	send_routes(&a.a, routes, 2);
	send_routes(&a.a, routes + 2, 1);
	wait_for(label_of(&routes[1]) == 21 && label_of(&routes[2]) == 22);
	script_close(&s);
	wait_for(node_view(&n, 1).families[VPNV4].retained);
	wait_for(label_of(&routes[2]) == NO_PATH);
	assert_int_equal(label_of(&routes[0]), 20);
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	send_routes(&a.a, routes, 1);
	script_send_end_of_rib(&s, VPNV4);
	wait_for(label_of(&routes[1]) == NO_PATH);
	assert_int_equal(label_of(&routes[0]), 20);
	end();
}

/* Prefix number limit + 1 is not stored; the same prefix under two distinguishers counts twice. */
static void
test_limit(void **state)
{
	struct route routes[] = {{VPNV4, 1, RD_A, 20}, {VPNV4, 1, RD_B, 21}, {VPNV4, 2, RD_A, 22}};
	struct config_peer c = vpn_config();
	union script_attrs a;

	c.families[VPNV4].max_prefixes = 2;
	c.families[VPNV4].max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	begin(&c);
	vpn_attrs(&a);
	send_routes(&a.a, routes, 2);
	wait_for(counts_of(VPNV4).received == 2);
	routes[0].label = 30; /* stored: not a further prefix */
	send_routes(&a.a, routes, 1);
	wait_for(label_of(&routes[0]) == 30);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	send_routes(&a.a, routes + 2, 1);
	script_expect_notification(&s, ERR_CEASE, CEASE_MAX_PREFIXES);
	wait_for(refused(VPNV4, REFUSED_PREFIX_LIMIT) == 1);
	end();
}

/* The next message is the End-of-RIB of memberships (RFC 4684): we have no instance. */
static void
expect_memberships_end(void)
{
	static const uint8_t end_of_rib[] = {0, 0, 0, 6, 0x80, 15, 3, 0, 1, 132};
	const uint8_t *p;

	do {
		p = script_next(&s);
		assert_non_null(p);
		assert_int_equal(s.type, BGP_UPDATE);
	} while (s.len != BGP_HEADER_LEN + sizeof(end_of_rib) ||
		 memcmp(p + BGP_HEADER_LEN, end_of_rib, sizeof(end_of_rib)) != 0);
}

static void
check_memberships(void)
{
	static const uint8_t refresh[] = {0, 1, 0, 132};
	struct config_peer c = vpn_config();
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	uint8_t msg[BGP_HEADER_LEN + sizeof(refresh)];

	c.rt_constraint = o.rt_constraint = true;
	o.families = BOTH;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 2, &o);
	expect_memberships_end();
	/* RFC 2918 4 */
	memset(msg, 0xff, 16);
	msg[16] = 0;
	msg[17] = sizeof(msg);
	msg[18] = BGP_ROUTE_REFRESH;
	memcpy(msg + BGP_HEADER_LEN, refresh, sizeof(refresh));
	script_send(&s, msg, sizeof(msg));
	expect_memberships_end();
	end();
}

/* Memberships go at once, also after a restart: the peer sends its VPN tables after them, and we advertise after its tables. */
static void
test_memberships(void **state)
{
	check_memberships();
	node_restarted = true;
	check_memberships();
	node_restarted = false;
}

/* A peer without the families: refused, with our families in the NOTIFICATION (RFC 5492 5). */
static void
test_not_common(void **state)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct config_peer c = vpn_config();
	static const uint8_t data[] = {1, 4, 0, 1, 0, 128, 1, 4, 0, 2, 0, 128};

	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	script_greet(&s, &n, 2);
	script_send_open(&s, &o);
	script_expect_notification(&s, ERR_OPEN, OPEN_UNSUPPORTED_CAPABILITY);
	assert_int_equal(s.len, BGP_HEADER_LEN + 2 + sizeof(data));
	assert_memory_equal(s.buf + BGP_HEADER_LEN + 2, data, sizeof(data));
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_routes_in_shards),
		cmocka_unit_test(test_withdraw_labels),
		cmocka_unit_test(test_unusable_labels),
		cmocka_unit_test(test_treat_as_withdraw),
		cmocka_unit_test(test_own_route_returns),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_memberships),
		cmocka_unit_test(test_not_common),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
