/* SPDX-License-Identifier: BSD-3-Clause */
/* Each member with its own next hop; and the rules for exported attributes. */
#include "tests/control/update_group_members.h"

#include "rib/policy/policy_build.h"

#include <stdio.h>

/* ---- next hops ---- */

static void
test_own_next_hop(void **state)
{
	uint32_t path[1] = {65100};
	static struct rigged r;
	union rig_attrs a;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	join_first(&r, 3);
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++) {
		struct ip_addr own = addr_from_v4(0xc0000201u + i);

		assert_true(r.told[i].present);
		assert_true(addr_equal(&attrs_of(&r.told[i])->next_hop, &own));
	}
	rigged_end(&r);
}

static struct ip_addr
address(const char *text)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/*
 * RFC 2545 3: global address, global and link-local, link-local alone; RFC 8950: IPv4 with an IPv6
 * next hop.
 */
static void
test_ipv6_next_hops(void **state)
{
	uint32_t path[1] = {65100};
	static struct rigged r;
	struct update_member_config c;
	struct update_group_stats s;
	union rig_attrs a;

	assert_int_not_equal(zone_intern("east"), 0);
	rigged_begin(&r, FAMILY_IPV6_UNICAST);
	rig_attrs_make(&a, path, 1, 0);
	a.a.next_hop = address("2001:db8::9");
	for (unsigned i = 0; i < 4; i++) {
		c = member_config(&r, i);
		c.next_hop = address("2001:db8::1");
		c.next_hop.b[15] = (uint8_t)(i + 1);
		if (i >= 2)
			c.next_hop_link_local = address("fe80::7%east");
		if (i == 3)
			memset(&c.next_hop, 0, sizeof(c.next_hop));
		join(&r, i, &c);
	}
	c = member_config(&r, 4); /* no next hop of the family: no route can be advertised */
	join(&r, 4, &c);
	announce(&r, SOURCE, "2001:db8:1::/48", &a);
	drain(&r, true);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.members, 2); /* 16 octets and 32 octets: different groups */
	for (unsigned i = 0; i < 4; i++) {
		assert_true(r.told[i].present);
		assert_int_equal(attrs_of(&r.told[i])->next_hop.b[15], i == 3 ? 0 : i + 1);
		assert_int_equal(attrs_of(&r.told[i])->next_hop_link_local.afi,
			i >= 2 ? AFI_IPV6 : AFI_NONE);
	}
	assert_int_equal(attrs_of(&r.told[2])->next_hop_link_local.b[15], 7);
	assert_false(r.told[4].present);
	rigged_end(&r);

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	c = member_config(&r, 0);
	c.next_hop = address("2001:db8::1");
	c.rules.encode.extended_next_hop = true;
	join(&r, 0, &c);
	c = member_config(&r, 1);
	c.next_hop = address("2001:db8::1"); /* RFC 8950 not negotiated */
	join(&r, 1, &c);
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	drain(&r, true);
	assert_true(r.told[0].present);
	assert_int_equal(attrs_of(&r.told[0])->next_hop.afi, AFI_IPV6);
	assert_false(r.told[1].present);
	rigged_end(&r);
}

/* ---- rules ---- */

static void
expect_path(const struct told *t, const char *want)
{
	char text[200];

	assert_true(t->present);
	attr_as_path_format(attrs_of(t), text, sizeof(text));
	assert_string_equal(text, want);
}

/*
 * Numbers the prefixes of length `len` in 10.0.0.0/8. Step i adds community i to each prefix of up
 * to 24 bits in a prefix whose number has bit i: 2^`steps` results, and MED 5 behind the last step.
 */
static struct policy *
steps_policy(unsigned steps, unsigned len)
{
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_builder_create("steps", &b), 0);
	for (unsigned i = 0; i < 16; i++) { /* never match; the keys differ in high bits alone */
		assert_int_equal(policy_builder_node(b, i + 1, true), 0);
		assert_int_equal(policy_builder_match_number(b, NUMBER_MED, 99, 99), 0);
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, i);
		policy_builder_goto(b, i < 15 ? i + 2 : 101);
	}
	for (unsigned i = 0; i < steps; i++) {
		uint8_t community[4] = {0, 77, 0, (uint8_t)i};
		struct policy_prefix_list *l;

		assert_int_equal(policy_prefix_list_create(&l), 0);
		for (uint32_t n = 0; n < 1u << steps; n++) {
			struct prefix x =
				prefix_from_v4(0x0a000000 | n << (32 - len), (uint8_t)len);

			assert_int_equal(policy_prefix_list_add(l, n >> i & 1, &x, len, 24), 0);
		}
		assert_int_equal(policy_prefix_list_seal(l), 0);
		assert_int_equal(policy_builder_node(b, 101 + i, true), 0);
		assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
		assert_int_equal(policy_builder_set_communities(
					 b, COMMUNITIES_STANDARD, EDIT_ADD, community, 1),
			0);
		policy_builder_goto(b, 102 + i);
		policy_prefix_list_unref(l);
	}
	assert_int_equal(policy_builder_node(b, 101 + steps, true), 0);
	policy_builder_set_number(b, NUMBER_MED, 5);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

/*
 * Prefixes with equal attributes each get the result of their own steps, also when a result
 * repeats.
 */
static void
test_many_outcomes(void **state)
{
	uint32_t path[1] = {65100};
	struct policy *policy = steps_policy(7, 16);
	struct update_member_config c;
	static struct rigged r;
	union rig_attrs a;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	c = member_config(&r, 0);
	c.rules.policy = policy;
	join(&r, 0, &c);
	for (unsigned i = 0; i < 256; i++) {
		unsigned n = i * 37 % 128, got = 0;
		const struct attr_set *told;
		char prefix[PREFIX_TEXT_MAX];

		a.a.origin = (uint8_t)(i / 128); /* every prefix changes once */
		snprintf(prefix, sizeof(prefix), "10.%u.0.0/16", n);
		announce(&r, SOURCE, prefix, &a);
		drain(&r, true);
		told = attrs_of(&r.told[0]);
		assert_true(r.told[0].present);
		for (unsigned k = 0; k < told->community_count; k++)
			got |= 1u << attr_communities(told)[4 * k + 3];
		assert_int_equal(got, n);
		assert_true(told->has & ATTR_HAS_MED);
		assert_int_equal(told->med, 5);
	}
	rigged_end(&r);
	policy_destroy(policy);
}

/*
 * More results than numbers of edits: a member behind receives the routes without a number, too,
 * and then follows the stream again.
 */
static void
test_behind_without_edit_numbers(void **state)
{
	struct policy *policy = steps_policy(9, 24);
	unsigned calls = 0;
	static struct rigged r;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	for (unsigned i = 0; i < 2; i++) {
		struct update_member_config c = member_config(&r, i);

		c.rules.policy = policy;
		join(&r, i, &c);
	}
	drain(&r, true);
	load(&r, LOADED, 1);
	while (behind_of(&r) == 0) {
		turn_hold(r.told[1].m);
		(void)encode(&r, 0, false);
	}
	while (behind_of(&r) > 0) {
		assert_true(++calls < 10000);
		(void)encode(&r, 0, false);
		(void)encode(&r, 1, true);
	}
	drain(&r, true);
	assert_int_equal(r.told[1].announced, LOADED);
	rigged_end(&r);
	policy_destroy(policy);
}

/* CPU seconds of a dump of `routes` routes, with one result for each 128 routes. */
static double
measure_results(unsigned routes)
{
	struct policy *policy = steps_policy(9, 17);
	struct update_member_config c;
	static struct rigged r;
	double dump;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	c = member_config(&r, 0);
	c.rules.policy = policy;
	load(&r, routes, 1);
	join(&r, 0, &c);
	dump = cpu_s();
	drain(&r, false);
	dump = cpu_s() - dump;
	assert_int_equal(update_group_advertised(r.told[0].m), routes);
	rigged_end(&r);
	policy_destroy(policy);
	return dump;
}

/* A route costs not much more when its edit has no number. */
static void
test_cost_without_edit_numbers(void **state)
{
	double numbered, others;
	unsigned times = 0;

	(void)state;
	do {
		assert_true(++times <= 3);
		numbered = measure_results(32000);
		others = measure_results(60000);
		printf("250 results: dump %.3f s, 469 results: %.3f s of CPU\n", numbered, others);
	} while (others > 8 * numbered);
}

static void
test_as_path_rules(void **state)
{
	uint32_t path[5] = {65100, 64600, 3, 65003, 4200000001u};
	struct policy_builder *b;
	struct policy *prepends;
	static struct rigged r;
	union rig_attrs a;

	assert_int_equal(policy_builder_create("prepends", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	policy_builder_set_prepend(b, 64777, 2);
	assert_int_equal(policy_builder_finish(b, &prepends), 0);
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, path, 5, 0x0a0a0a0a);
	a.a.has |= ATTR_HAS_MED | ATTR_HAS_LOCAL_PREF;
	a.a.med = 9;
	a.a.local_pref = 200;
	for (unsigned i = 0; i < 8; i++) {
		struct update_member_config c = member_config(&r, i);

		if (i == 1 || i >= 5)
			c.rules.remove_private_as = true;
		if (i == 5 || i == 7)
			c.rules.policy = prepends;
		if (i == 2) /* the peer is AS 65003 */
			c.rules.as_override = true;
		if (i == 3 || i >= 6)
			c.rules.local_as = i == 3 ? 64999 : 205804;
		if (i == 4)
			c.rules.default_originate = true;
		join(&r, i, &c);
	}
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	drain(&r, true);
	expect_path(&r.told[0], "64512 65100 64600 3 65003 4200000001");
	expect_path(&r.told[1], "64512 3");
	expect_path(&r.told[2], "64512 65100 64600 3 64512 4200000001");
	expect_path(&r.told[3], "64999 64512 65100 64600 3 65003 4200000001");
	assert_int_equal(r.told[4].announced, 2);
	/* AS numbers prepended by the policy are not removed */
	expect_path(&r.told[5], "64512 64777 64777 3");
	/* our private number behind local_as is removed, too */
	expect_path(&r.told[6], "205804 3");
	expect_path(&r.told[7], "205804 64777 64777 3");
	assert_false(attrs_of(&r.told[0])->has & (ATTR_HAS_MED | ATTR_HAS_LOCAL_PREF));
	rigged_end(&r);
	policy_destroy(prepends);
}

/*
 * RFC 9494 4.3: a stale route goes to peers with the capability alone, and with its community. A
 * live path behind takes its place at all peers.
 */
static void
test_long_lived_stale(void **state)
{
	static struct rigged r;
	union rig_attrs a;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	memcpy(a.a.var + a.a.as_path_len, (const uint8_t[]){0xff, 0xff, 0, 6}, 4);
	a.a.community_count = 1;
	attr_set_derive(&a.a);
	for (unsigned i = 0; i < 3; i++) {
		struct update_member_config c = member_config(&r, i);

		c.rules.long_lived = i > 0;
		c.rules.encode.send_communities = i < 2;
		join(&r, i, &c);
	}
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(r.told[i].announced, i == 1);
	assert_true(attr_has_community(attrs_of(&r.told[1]), COMMUNITY_LLGR_STALE));
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++)
		assert_true(r.told[i].present);
	rigged_end(&r);
}

#define OWN_GROUPS 2100u

/*
 * Groups of one member, as of receivers with a policy each: more groups than the journal had cursors. Each member gets the table, a change, and nothing
 * else; members that do not read hold the ids of their streams.
 */
static void
test_groups_of_their_own(void **state)
{
	static struct rigged r;
	static struct told own[OWN_GROUPS];
	static uint8_t buf[8192];
	union rig_attrs a;
	size_t octets[2] = {0};

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "10.0.0.0/8", &a);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < OWN_GROUPS; i++) {
		struct update_member_config c = member_config(&r, 1000 + i);

		c.rules.local_as = 100000 + i;
		qsbr_online(r.rig.readers, r.reader);
		assert_int_equal(update_group_join(r.groups, &c, &own[i].m), 0);
		qsbr_offline(r.rig.readers, r.reader);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < OWN_GROUPS; i++) {
			bool more, others;
			size_t len;

			qsbr_online(r.rig.readers, r.reader);
			len = turn_send(own[i].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				on_mark, &own[i]);
			qsbr_offline(r.rig.readers, r.reader);
			assert_int_equal(member_error(own[i].m), 0);
			assert_false(more);
			assert_true(len > 0);
			octets[round] += len;
			assert_int_equal(update_group_advertised(own[i].m), 1 + round);
		}
		announce(&r, SOURCE, "10.1.0.0/16", &a);
		rig_settle(&r.rig);
	}
	printf("%u groups: %zu octets of dumps, %zu of a change\n", OWN_GROUPS, octets[0],
		octets[1]);
	for (unsigned i = 0; i < OWN_GROUPS; i++) {
		struct update_group *g;

		assert_int_equal(own[i].marks[MARK_END_OF_RIB], 1);
		g = update_group_leave(own[i].m);
		assert_non_null(g);
		assert_false(update_group_dismantle(g, UINT64_MAX));
	}
	rigged_end(&r);
}

/* RFC 4456: a non-client's route to clients, a client's to all; ORIGINATOR_ID and CLUSTER_LIST. */
static void
test_reflection(void **state)
{
	static struct rigged r;
	union rig_attrs a;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, NULL, 0, 0x0a0a0a0a);
	for (unsigned i = 0; i < 3; i++) {
		struct update_member_config c = member_config(&r, i);

		c.rules.kind = i == 0 ? UPDATE_INTERNAL : i == 1 ? UPDATE_CLIENT : UPDATE_EXTERNAL;
		c.rules.peer_as = i == 2 ? 65003 : RIG_OWN_ASN;
		c.rules.next_hop_self = true; /* RFC 4456 10: ignored for reflected routes */
		join(&r, i, &c);
	}
	announce(&r, SOURCE + 1, "10.0.0.0/8", &a);
	drain(&r, true);
	assert_false(r.told[0].present);
	assert_true(r.told[1].present);
	assert_int_equal(attrs_of(&r.told[1])->originator_id, 0x0a000000u + SOURCE + 1);
	assert_int_equal(attrs_of(&r.told[1])->cluster_count, 1);
	assert_memory_equal(attr_cluster_list(attrs_of(&r.told[1])), "\x01\x02\x03\x04", 4);
	assert_int_equal(addr_v4(&attrs_of(&r.told[1])->next_hop), 0x0a0a0a0a);
	assert_int_equal(attrs_of(&r.told[1])->local_pref, 100);
	expect_path(&r.told[2], "64512");
	assert_int_equal(attrs_of(&r.told[2])->cluster_count, 0);
	announce(&r, SOURCE + 2, "10.1.0.0/16", &a);
	drain(&r, true);
	assert_true(r.told[0].present);
	assert_int_equal(attrs_of(&r.told[0])->originator_id, 0x0a000000u + SOURCE + 2);
	/*
	 * The source returns with another identifier, while a route with the old set is still
	 * cached.
	 */
	announce(&r, SOURCE + 1, "10.2.0.0/16", &a);
	drain(&r, true);
	rig_event(&r.rig, RIB_SESSION_DOWN, SOURCE + 2);
	rig_put(&r.rig);
	drain(&r, true);
	assert_false(r.told[0].present);
	rig_up(&r.rig, SOURCE + 2, RIG_OWN_ASN, 0x0b000001u, false);
	announce(&r, SOURCE + 2, "10.1.0.0/16", &a);
	drain(&r, true);
	assert_true(r.told[0].present);
	assert_int_equal(attrs_of(&r.told[0])->originator_id, 0x0b000001u);
	/* Again, with routes retained (RFC 4724). */
	rig_down_retained(&r.rig, SOURCE + 2);
	rig_put(&r.rig);
	drain(&r, true);
	assert_true(r.told[0].present);
	rig_up(&r.rig, SOURCE + 2, RIG_OWN_ASN, 0x0b000002u, false);
	announce(&r, SOURCE + 2, "10.1.0.0/16", &a);
	drain(&r, true);
	assert_int_equal(attrs_of(&r.told[0])->originator_id, 0x0b000002u);
	rigged_end(&r);
}

/* A new cluster id is advertised on existing sessions; external peers see no change. */
static void
test_cluster_id_changes(void **state)
{
	static struct rigged r;
	union rig_attrs a;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, NULL, 0, 0x0a0a0a0a);
	for (unsigned i = 0; i < 3; i++) {
		struct update_member_config c = member_config(&r, i);

		c.rules.kind = i < 2 ? UPDATE_CLIENT : UPDATE_EXTERNAL;
		c.rules.peer_as = i < 2 ? RIG_OWN_ASN : 65003;
		join(&r, i, &c);
	}
	announce(&r, SOURCE + 1, "10.0.0.0/8", &a);
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		assert_int_equal(r.told[i].announced, 1);
		rules.cluster_id = 0x05060708;
		update_group_rules(r.told[i].m, &rules);
	}
	drain(&r, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(r.told[i].announced, 2);
		assert_int_equal(attrs_of(&r.told[i])->cluster_count, 1);
		assert_memory_equal(attr_cluster_list(attrs_of(&r.told[i])), "\x05\x06\x07\x08", 4);
	}
	assert_int_equal(r.told[2].announced, 1);
	rigged_end(&r);
}

/* A second commit while routes wait for room below a limit, after each number of turns: the walks end, and all routes are announced. */
static void
test_commits_at_a_limit(void **state)
{
	enum { ROUTES = 600, LIMIT = 300, TURNS = 40, TURNS_MAX = 1000 };
	static struct rigged r;
	struct policy_builder *b;
	struct policy *prepends;
	union rig_attrs a;
	char prefix[32];

	assert_int_equal(policy_builder_create("prepends", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	policy_builder_set_prepend(b, 64777, 2);
	assert_int_equal(policy_builder_finish(b, &prepends), 0);
	rig_attrs_make(&a, NULL, 0, 0x0a0a0a0a);
	for (unsigned turns = 0; turns < TURNS; turns++) {
		struct update_member_config c;
		struct update_group_stats s;
		unsigned n = 0;

		rigged_begin(&r, FAMILY_IPV4_UNICAST);
		c = member_config(&r, 0);
		c.rules.policy = policy_deny_all();
		join(&r, 0, &c);
		update_group_limit(r.told[0].m, LIMIT);
		for (unsigned i = 0; i < ROUTES; i++) {
			(void)snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i / 256, i % 256);
			announce(&r, SOURCE, prefix, &a);
		}
		drain(&r, true);
		assert_int_equal(r.told[0].announced, 0);
		update_group_policy(r.told[0].m, policy_accept_all());
		for (unsigned i = 0; i < turns; i++)
			(void)encode_for(&r, 0, true, 1000);
		update_group_policy(r.told[0].m, prepends);
		while (encode(&r, 0, true) && n < TURNS_MAX)
			n++;
		assert_in_range(n, 0, TURNS_MAX - 1);
		assert_int_equal(update_group_advertised(r.told[0].m), ROUTES);
		update_group_stats(r.told[0].m, &s);
		assert_in_range(s.policy_walks, 1, 2);
		assert_in_range(r.told[0].marks[MARK_POLICY_DONE], s.policy_walks, s.policy_walks);
		rigged_end(&r);
	}
	policy_destroy(prepends);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_next_hop),
		cmocka_unit_test(test_ipv6_next_hops),
		cmocka_unit_test(test_many_outcomes),
		cmocka_unit_test(test_behind_without_edit_numbers),
		cmocka_unit_test(test_cost_without_edit_numbers),
		cmocka_unit_test(test_as_path_rules),
		cmocka_unit_test(test_long_lived_stale),
		cmocka_unit_test(test_groups_of_their_own),
		cmocka_unit_test(test_reflection),
		cmocka_unit_test(test_cluster_id_changes),
		cmocka_unit_test(test_commits_at_a_limit),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
