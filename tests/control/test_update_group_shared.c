/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many members: packed once, one walk for all requests, each member with its own next hop; and the
 * rules for exported attributes.
 */
#include "control/export/update_group.h"

#include "control/bgp/bgp_msg.h"
#include "control/base/threads.h"
#include "tests/control/update_turn.h"
#include "rib/policy_build.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define MEMBERS 20u
#ifdef KEEL_SANITIZED
#define REQUESTS 400u
#else
#define REQUESTS 2000u
#endif
#define SOURCE 100u /* external; 101 is internal, 102 our client */

struct told {
	struct update_member *m;
	unsigned marks[MARK_SETTLED + 1];
	uint64_t updates, announced, withdrawn, octets;
	bool present;
	alignas(struct attr_set)
		uint8_t attrs[sizeof(union rig_attrs)]; /* of the newest announcement */
	uint8_t next_hop[32];
	size_t next_hop_len;
};

static struct attr_set *
attrs_of(const struct told *t)
{
	return (struct attr_set *)(uintptr_t)t->attrs;
}

struct rigged {
	struct rig rig;
	enum family family;
	unsigned reader;
	struct adj_records *records;
	struct update_groups *groups;
	struct told told[MEMBERS + 1];
	/* longest call in CPU time: other processes may use the machine meanwhile */
	double longest_s;
};

static void
rigged_begin(struct rigged *r, enum family family)
{
	struct update_groups_config c;

	memset(r, 0, sizeof(*r));
	rig_init(&r->rig, false);
	r->family = family;
	if (family != FAMILY_IPV4_UNICAST)
		assert_int_equal(
			shard_table_add(r->rig.shard, VRF_DEFAULT, family, &r->rig.table), 0);
	assert_int_equal(qsbr_register(r->rig.readers, &r->reader), 0);
	assert_int_equal(adj_records_create(r->rig.arena, &r->records), 0);
	c = (struct update_groups_config){
		.arena = r->rig.arena, .shard = r->rig.shard, .records = r->records, .stall_ns = 1};
	assert_int_equal(update_groups_create(&c, &r->groups), 0);
	for (uint16_t p = SOURCE; p < SOURCE + 3; p++) {
		struct shard_peer k = {.id = {p},
			.addr = addr_from_v4(0xc6336400u + p),
			.external = p == SOURCE,
			.multihop = true,
			.rr_client = p == SOURCE + 2,
			.asn = p == SOURCE ? 65100 : RIG_OWN_ASN};

		assert_int_equal(shard_peer_add(r->rig.shard, &k), 0);
		shard_peer_import(r->rig.shard, k.id, family, policy_accept_all());
		rig_up(&r->rig, p, k.asn, 0x0a000000u + p, k.external);
	}
}

static struct update_member_config
member_config(const struct rigged *r, unsigned i)
{
	return (struct update_member_config){
		.id = {(uint16_t)(1 + i)},
		.rules = {.table = r->rig.table,
			.family = r->family,
			.kind = UPDATE_EXTERNAL,
			.own_as = RIG_OWN_ASN,
			.local_as = RIG_OWN_ASN,
			.peer_as = 65001 + i,
			.cluster_id = 0x01020304,
			.encode = {.as4 = true, .send_communities = true},
			.policy = policy_accept_all(),
			.peer = addr_from_v4(0xc6336401u + i)},
		.next_hop = addr_from_v4(0xc0000201u + i),
	};
}

static void
join(struct rigged *r, unsigned i, const struct update_member_config *c)
{
	qsbr_online(r->rig.readers, r->reader);
	assert_int_equal(update_group_join(r->groups, c, &r->told[i].m), 0);
	qsbr_offline(r->rig.readers, r->reader);
}

static void
rigged_end(struct rigged *r)
{
	for (unsigned i = 0; i <= MEMBERS; i++) {
		struct update_group *g =
			r->told[i].m != NULL ? update_group_leave(r->told[i].m) : NULL;

		if (g != NULL)
			assert_false(update_group_dismantle(g, UINT64_MAX));
	}
	update_groups_destroy(r->groups);
	assert_int_equal(adj_records_count(r->records), 0);
	adj_records_destroy(r->records);
	qsbr_unregister(r->rig.readers, r->reader);
	rig_fini(&r->rig);
}

static void
on_mark(void *ctx, enum update_group_mark m)
{
	((struct told *)ctx)->marks[m]++;
}

static void
read_update(struct rigged *r, struct told *t, const uint8_t *msg, size_t len)
{
	static union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	const struct update_rules *rules = update_group_rules_of(t->m);
	struct bgp_update_options o = {.as4 = rules->encode.as4,
		.external = rules->kind == UPDATE_EXTERNAL,
		.zone = 1,
		.extended_next_hop = rules->encode.extended_next_hop ? 0xf : 0,
		.families = (uint8_t)(1u << r->family)};
	struct bgp_update u;
	struct nlri n;

	bgp_update_decode(msg, len, &o, &attrs.a, &u);
	assert_int_equal(u.error.severity, BGP_OK);
	t->updates++;
	for (unsigned i = 0; i < u.withdrawn_count; i++) {
		while (nlri_read(&u.withdrawn[i].nlri, r->family, false, &n)) {
			t->withdrawn++;
			t->present = false;
		}
	}
	for (unsigned i = 0; i < u.announced_count; i++) {
		while (nlri_read(&u.announced[i].nlri, r->family, false, &n)) {
			t->announced++;
			t->present = true;
		}
		memset(t->attrs, 0, sizeof(t->attrs));
		memcpy(t->attrs, &attrs.a, attr_set_size(&attrs.a));
		if (u.announced[i].mp) {
			attrs_of(t)->next_hop = u.mp_next_hop;
			attrs_of(t)->next_hop_link_local = u.mp_next_hop_link_local;
		}
	}
}

static double
cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Receives output; with `look`, decodes each UPDATE. */
static bool
encode_for(struct rigged *r, unsigned i, bool look, uint64_t ns)
{
	static uint8_t buf[256u << 10];
	struct told *t = &r->told[i];
	bool more, others;
	double begun;
	size_t len;

	qsbr_online(r->rig.readers, r->reader);
	begun = cpu_s();
	len = turn_send(t->m, buf, sizeof(buf), now_ns() + ns, &more, &others, on_mark, t);
	begun = cpu_s() - begun;
	if (begun > r->longest_s)
		r->longest_s = begun;
	qsbr_offline(r->rig.readers, r->reader);
	assert_int_equal(member_error(t->m), 0);
	t->octets += len;
	for (const uint8_t *p = buf; look && p < buf + len;) {
		size_t n = (size_t)p[16] << 8 | p[17];

		if (p[18] == BGP_UPDATE)
			read_update(r, t, p, n);
		p += n;
	}
	return more || others;
}

static bool
encode(struct rigged *r, unsigned i, bool look)
{
	return encode_for(r, i, look, 1000000);
}

static void
drain(struct rigged *r, bool look)
{
	bool more = true;

	rig_settle(&r->rig);
	while (more) {
		more = false;
		for (unsigned i = 0; i <= MEMBERS; i++) {
			if (r->told[i].m != NULL)
				more |= encode(r, i, look) || member_pending(r->told[i].m);
		}
	}
}

static void
load(struct rigged *r, unsigned count, unsigned shared)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t path[3] = {65100, 1000 + i / shared, 70000};
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};
		union rig_attrs a;

		rig_attrs_make(&a, path, 3, 0x0a0a0a0a);
		rig_update(&r->rig, SOURCE, &a.a, &n, 1);
		if (i % 1000 == 0)
			rig_settle(&r->rig);
	}
	rig_settle(&r->rig);
}

static void
announce(struct rigged *r, uint16_t peer, const char *prefix, const union rig_attrs *a)
{
	struct rib_nlri n = {.label = 0xfffff};

	assert_int_equal(prefix_parse(prefix, &n.prefix), 0);
	rig_update_in(&r->rig, r->family, peer, &a->a, &n, 1, r->rig.now_ns);
}

/* ---- packed once ---- */

#ifdef KEEL_SANITIZED
#define ROUTES 50000u
#else
#define ROUTES 200000u
#endif

/* CPU seconds of the first dump and of a refresh with `members` members. */
static void
measure(unsigned members, double *dump, double *again)
{
	static struct rigged r;
	struct update_group_stats s;
	uint64_t messages;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, ROUTES, 6);
	for (unsigned i = 0; i < members; i++) {
		struct update_member_config c = member_config(&r, i);

		join(&r, i, &c);
	}
	*dump = cpu_s();
	drain(&r, false);
	*dump = cpu_s() - *dump;
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.members, members);
	assert_int_equal(s.walks, 1);
	messages = s.messages;
	for (unsigned i = 0; i < members; i++)
		update_group_refresh(r.told[i].m, true);
	*again = cpu_s();
	drain(&r, false);
	*again = cpu_s() - *again;
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.walks, 2); /* shared by all */
	assert_int_equal(s.own_messages, 0);
	assert_in_range(s.messages, 2 * messages - messages / 50, 2 * messages + messages / 50);
	for (unsigned i = 0; i < members; i++) {
		assert_int_equal(r.told[i].marks[MARK_END_OF_RIB], 1);
		assert_int_equal(r.told[i].marks[MARK_BORR], 1);
		assert_int_equal(r.told[i].marks[MARK_EORR], 1);
		assert_int_equal(r.told[i].octets, r.told[0].octets);
		assert_int_equal(update_group_advertised(r.told[i].m), ROUTES);
	}
	printf("%u members: dump %.3f s, refresh %.3f s of CPU, %.1f MB each, longest call %.2f "
	       "ms\n",
		members, *dump, *again, (double)r.told[0].octets / 1e6, r.longest_s * 1e3);
	rigged_end(&r);
}

/* Copying is much cheaper than packing; the limit is generous for busy machines. */
static bool
packed_once(void)
{
	double dump[2], again[2];

	measure(1, &dump[0], &again[0]);
	measure(MEMBERS, &dump[1], &again[1]);
	printf("%u members cost %.2f times one for a dump, %.2f for a refresh\n", MEMBERS,
		dump[1] / dump[0], again[1] / again[0]);
	return dump[1] < 8 * dump[0] && again[1] < 8 * again[0];
}

static void
test_packed_once(void **state)
{
	unsigned times = 1;

	while (!packed_once())
		assert_true(++times <= 3);
}

/* ---- members that join within a walk ---- */

#define LATE_ROUTES 20000u
#define LATE_MEMBERS 3u

/*
 * Members that join when the walk has visited a quarter and half of the routes get the rest of this walk, and then the routes before: each route is packed less than
 * twice, and each member gets each route once.
 */
static void
test_late_joins_share_the_walk(void **state)
{
	static struct rigged r;
	struct update_group_stats s = {0};

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, LATE_ROUTES, 1); /* a message each */
	for (unsigned i = 0; i < LATE_MEMBERS; i++) {
		struct update_member_config c = member_config(&r, i);

		while (s.messages < i * LATE_ROUTES / 4) {
			for (unsigned k = 0; k < i; k++)
				(void)encode(&r, k, true);
			update_group_stats(r.told[0].m, &s);
		}
		join(&r, i, &c);
	}
	drain(&r, true);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.walks, 2);
	assert_in_range(s.messages, LATE_ROUTES * 5 / 4, LATE_ROUTES * 7 / 4);
	for (unsigned i = 0; i < LATE_MEMBERS; i++) {
		assert_int_equal(r.told[i].marks[MARK_END_OF_RIB], 1);
		/* a walk ends for a member with the batch that reaches the place */
		assert_in_range(r.told[i].announced, LATE_ROUTES, LATE_ROUTES + 1024);
	}
	rigged_end(&r);
}

/* The first walk ends after the last member of the first walk has left, and the late member gets the rest. */
static void
test_late_join_stays_alone(void **state)
{
	static struct rigged r;
	struct update_group_stats s = {0};
	struct update_member_config c;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, LATE_ROUTES, 1);
	c = member_config(&r, 0);
	join(&r, 0, &c);
	while (s.messages < LATE_ROUTES / 2) {
		(void)encode(&r, 0, false);
		update_group_stats(r.told[0].m, &s);
	}
	c = member_config(&r, 1);
	join(&r, 1, &c);
	assert_null(update_group_leave(r.told[0].m));
	r.told[0].m = NULL;
	drain(&r, true);
	assert_int_equal(r.told[1].marks[MARK_END_OF_RIB], 1);
	assert_in_range(r.told[1].announced, LATE_ROUTES, LATE_ROUTES + 1024);
	rigged_end(&r);
}

/* ---- groups read the journal together ---- */

#define APART 8u /* groups of one member */
#define APART_ROUTES 80000u
#define SOCKET (256u << 10) /* octets that wait for a receiver, at most */

static void
apart_join(struct rigged *r, uint64_t await_ns)
{
	rigged_begin(r, FAMILY_IPV4_UNICAST);
	r->groups->c.await_ns = await_ns;
	for (unsigned i = 0; i < APART; i++) {
		struct update_member_config c = member_config(r, i);

		c.rules.local_as = 100000 + i;
		join(r, i, &c);
	}
	drain(r, false);
}

static void
apart_begin(struct rigged *r, uint64_t await_ns)
{
	apart_join(r, await_ns);
	r->rig.bulk = true;
	load(r, APART_ROUTES, 8);
	r->rig.bulk = false;
}

/* Turns of the groups whose socket has room, until no group has work. */
static void
apart_turns(struct rigged *r, uint64_t *waits)
{
	static uint8_t buf[64u << 10];
	bool more, others, any;

	do {
		any = false;
		for (unsigned i = 0; i < APART; i++) {
			size_t len;

			if (waits[i] + sizeof(buf) > SOCKET)
				continue;
			qsbr_online(r->rig.readers, r->reader);
			len = turn_send(r->told[i].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				on_mark, &r->told[i]);
			qsbr_offline(r->rig.readers, r->reader);
			waits[i] += len;
			any |= len > 0 || more;
		}
	} while (any);
}

/* Receivers empty their sockets one after another until all have `routes`: the number of windows made. */
static uint64_t
apart_windows(struct rigged *r, unsigned routes)
{
	uint64_t waits[APART] = {0}, before;
	struct update_group_stats s;

	update_group_stats(r->told[0].m, &s);
	before = s.windows;
	for (unsigned i = 0; update_group_advertised(r->told[i % APART].m) < routes; i++) {
		assert_true(i < 1000 * APART);
		apart_turns(r, waits);
		waits[i % APART] = 0;
	}
	drain(r, false);
	for (unsigned i = 0; i < APART; i++)
		assert_int_equal(update_group_advertised(r->told[i].m), routes);
	update_group_stats(r->told[0].m, &s);
	return s.windows - before;
}

/*
 * Receivers that empty their sockets one after another: without a wait each group would read the journal alone, as far as its socket has room.
 */
static void
test_groups_read_together(void **state)
{
	static struct rigged r;
	uint64_t windows;

	apart_begin(&r, UINT64_C(600000000000));
	windows = apart_windows(&r, APART_ROUTES);
	printf("%u routes, %u groups: %llu windows\n", APART_ROUTES, APART,
		(unsigned long long)windows);
	assert_in_range(windows, APART_ROUTES / WINDOW_ENTRIES, 2 * APART_ROUTES / WINDOW_ENTRIES);
	rigged_end(&r);
}

#define BEHIND_ROUTES 20000u

/* Paths behind the best path of all routes, in the journal between a route and the withdrawal of this route: groups find the route passed over. */
static void
passed_over_load(struct rigged *r)
{
	union rig_attrs a;
	struct rib_nlri gone = {.prefix = prefix_from_v4(0xc0000200u, 24), .label = 0xfffff};

	r->rig.bulk = true;
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	rig_update(&r->rig, SOURCE, &a.a, &gone, 1);
	load(r, BEHIND_ROUTES, 8);
	for (unsigned i = 0; i < BEHIND_ROUTES; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_attrs_make(&a, (uint32_t[]){65100, 65101, 65102, 65103 + i / 8}, 4, 0x0a0a0a0b);
		rig_update(&r->rig, SOURCE + 1, &a.a, &n, 1);
		if (i % 1000 == 0)
			rig_settle(&r->rig);
	}
	rig_update(&r->rig, SOURCE, NULL, &gone, 1);
	rig_settle(&r->rig);
	r->rig.bulk = false;
}

/* Of the entries before the withdrawal, a group reads those of the route alone, and uses the windows of the other groups. */
static void
test_passed_over_costs_no_windows(void **state)
{
	static struct rigged r;
	uint64_t windows;

	(void)state;
	apart_join(&r, UINT64_C(600000000000));
	passed_over_load(&r);
	windows = apart_windows(&r, BEHIND_ROUTES);
	printf("%u entries, %u groups: %llu windows\n", 2 * BEHIND_ROUTES, APART,
		(unsigned long long)windows);
	assert_in_range(
		windows, 2 * BEHIND_ROUTES / WINDOW_ENTRIES, 3 * BEHIND_ROUTES / WINDOW_ENTRIES);
	rigged_end(&r);
}

/* A receiver that takes nothing holds up bulk of the others for a moment, and no live change. */
static void
test_groups_leave_one_behind(void **state)
{
	static struct rigged r;
	uint64_t waits[APART] = {0}, until = now_ns() + UINT64_C(30000000000), sent;
	union rig_attrs a;

	apart_begin(&r, UINT64_C(600000000000));
	r.groups->c.live_behind = UINT32_MAX;
	waits[0] = SOCKET;
	apart_turns(&r, waits);
	sent = update_group_advertised(r.told[1].m);
	assert_in_range(sent, 1, APART_ROUTES / 2);
	for (unsigned i = 1; i < APART; i++) {
		waits[i] = 0;
		assert_false(member_pending(r.told[i].m));
	}
	rig_attrs_make(&a, (uint32_t[]){65100}, 1, 0x0a0a0a0a);
	announce(&r, SOURCE, "192.168.0.0/16", &a);
	rig_settle(&r.rig);
	apart_turns(&r, waits);
	for (unsigned i = 1; i < APART; i++)
		assert_int_equal(update_group_advertised(r.told[i].m), sent + 1);
	r.groups->c.await_ns = 1000000;
	while (update_group_advertised(r.told[1].m) <= APART_ROUTES && now_ns() < until) {
		memset(waits + 1, 0, sizeof(waits) - sizeof(waits[0]));
		apart_turns(&r, waits);
	}
	for (unsigned i = 1; i < APART; i++)
		assert_int_equal(update_group_advertised(r.told[i].m), APART_ROUTES + 1);
	assert_int_equal(update_group_advertised(r.told[0].m), 0);
	drain(&r, false);
	assert_int_equal(update_group_advertised(r.told[0].m), APART_ROUTES + 1);
	rigged_end(&r);
}

/* ---- new routes and routes sent again ---- */

#define OWN_POLICIES 4u

/* 0: appends a community; 1: appends, also one that the route has; 2: sets the MED; 3: refuses the route. */
static struct policy *
own_policy(unsigned i)
{
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_builder_create("own", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, i != 3), 0);
	if (i < 2)
		policy_builder_set_communities(b, COMMUNITIES_STANDARD, EDIT_ADD,
			(const uint8_t *)"\0\7\0\1\0\1\0\2\0\7\0\3", i == 0 ? 1 : 3);
	if (i == 2)
		policy_builder_set_number(b, NUMBER_MED, 77);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

/* A new route has the attributes of the same route sent again, which is made from the whole set by policy and rules. */
static void
test_new_as_again(void **state)
{
	static struct rigged r;
	struct policy *policy[OWN_POLICIES];
	uint8_t first[OWN_POLICIES][sizeof(r.told[0].attrs)];

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	for (unsigned i = 0; i < OWN_POLICIES; i++) {
		struct update_member_config c = member_config(&r, i);

		policy[i] = own_policy(i);
		c.rules.policy = policy[i];
		join(&r, i, &c);
	}
	drain(&r, true);
	for (unsigned i = 0; i < 3000; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};
		union rig_attrs a;

		rig_attrs_make(&a, (uint32_t[]){65100, 70000}, 2, 0x0a0a0a0a);
		memcpy(a.a.var + a.a.as_path_len, "\0\1\0\1\0\1\0\2", 8);
		a.a.community_count = 2;
		rig_update(&r.rig, SOURCE, &a.a, &n, 1);
	}
	drain(&r, true);
	for (unsigned i = 0; i < OWN_POLICIES; i++) {
		assert_int_equal(r.told[i].announced, i == 3 ? 0 : 3000);
		assert_true(i == 3 || r.told[i].updates < 10); /* full messages */
		memcpy(first[i], r.told[i].attrs, sizeof(first[i]));
		update_group_refresh(r.told[i].m, true);
	}
	drain(&r, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(r.told[i].announced, 6000);
		assert_memory_equal(first[i], r.told[i].attrs, sizeof(first[i]));
		assert_int_equal(attrs_of(&r.told[i])->community_count, i == 0	 ? 3
									: i == 1 ? 4
										 : 2);
		assert_int_equal(attrs_of(&r.told[i])->med, i == 2 ? 77 : 0);
	}
	rigged_end(&r);
	for (unsigned i = 0; i < OWN_POLICIES; i++)
		policy_destroy(policy[i]);
}

/* ---- unnecessary splits ---- */

static void
two_join(struct rigged *r)
{
	for (unsigned i = 0; i < 2; i++) {
		struct update_member_config c = member_config(r, i);

		join(r, i, &c);
	}
	drain(r, false);
}

/* Two members with 20,000 routes. */
static void
two_told(struct rigged *r)
{
	rigged_begin(r, FAMILY_IPV4_UNICAST);
	load(r, 20000, 4);
	two_join(r);
}

/* A group without members does not exist, and cannot hold the journal. */
static void
nobody_holds(struct rigged *r)
{
	struct journal *j = shard_journal(r->rig.shard);

	load(r, 100, 1);
	drain(r, false);
	assert_int_equal(journal_safe_sequence(j), journal_head(j) + 1);
}

/*
 * A commit that outlasts the group's wait: the rest gets the same rules while the first members are
 * being split off.
 */
static void
test_rest_follows_during_split(void **state)
{
	static struct rigged r;
	struct update_group_stats s;

	two_told(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = true;
		update_group_rules(r.told[i].m, &rules);
		for (s.splits = 0; i == 0 && s.splits == 0; update_group_stats(r.told[0].m, &s))
			encode_for(&r, 0, false, 1000);
	}
	assert_int_equal(s.members, 2); /* still running */
	drain(&r, false);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.members, 2);
	nobody_holds(&r);
	rigged_end(&r);
}

/*
 * Commits follow each other faster than a group is copied: the copy completes nevertheless, and
 * does not hold the journal throughout.
 */
static void
test_commits_faster_than_a_split(void **state)
{
	static struct rigged r;
	struct update_group_stats s;

	(void)state;
	two_told(&r);
	for (unsigned round = 1; round <= 40; round++) {
		for (unsigned i = 0; i < 2; i++) {
			struct update_rules rules = *update_group_rules_of(r.told[i].m);
			unsigned number =
				/* no member has the rules of another member a round before */
				2 * round + i;

			rules.next_hop_unchanged = number & 1;
			rules.remove_private_as = number >> 1 & 1;
			rules.as_override = number >> 2 & 1;
			update_group_rules(r.told[i].m, &rules);
		}
		encode_for(&r, 0, false, 1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		update_group_stats(r.told[i].m, &s);
		assert_int_equal(s.members, 1);
	}
	nobody_holds(&r);
	rigged_end(&r);
}

/* Walks of the shard wait for a group made by a split as for any group. */
static void
test_split_is_paced(void **state)
{
	static struct rigged r;
	uint64_t position;

	(void)state;
	two_told(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = i == 0;
		rules.as_override = i == 1;
		update_group_rules(r.told[i].m, &rules);
	}
	drain(&r, false);
	assert_false(update_group_shared(r.told[0].m, r.told[1].m));
	for (unsigned i = 0; i < 2; i++) {
		load(&r, 1000, 3 + i);
		while (encode(&r, i, false))
			;
		/* the other group has read no entry */
		assert_true(journal_lag(shard_journal(r.rig.shard), &position) > 900);
		drain(&r, false);
		assert_int_equal(journal_lag(shard_journal(r.rig.shard), &position), 0);
	}
	rigged_end(&r);
}

/*
 * No place in the journal for the new group of a split; before the failed split is dismantled, a
 * second member gets the same rules. No member moves to the group without a place.
 */
static void
test_split_without_a_cursor(void **state)
{
	static struct journal_cursor *cursor[JOURNAL_CURSORS_MAX];
	static uint8_t buf[256u << 10];
	static struct rigged r;
	struct update_member_config c;
	struct update_group_stats s;
	struct journal *j;
	unsigned count = 0;
	bool more, others;
	uint64_t position;

	(void)state;
	two_told(&r);
	c = member_config(&r, 2);
	join(&r, 2, &c);
	drain(&r, false);
	j = shard_journal(r.rig.shard);
	while (journal_subscribe(j, &cursor[count]) == 0)
		count++;
	for (unsigned i = 0; i < 2; i++) {
		struct update_rules rules = *update_group_rules_of(r.told[i].m);

		rules.next_hop_unchanged = true;
		update_group_rules(r.told[i].m, &rules);
		for (s.splits = 0; i == 0 && s.splits == 0; update_group_stats(r.told[2].m, &s)) {
			qsbr_online(r.rig.readers, r.reader);
			turn_send(r.told[2].m, buf, sizeof(buf), now_ns() + 1000, &more, &others,
				on_mark, &r.told[2]);
			qsbr_offline(r.rig.readers, r.reader);
		}
	}
	assert_int_equal(member_error(r.told[0].m), -ENOSPC);
	for (unsigned i = 0; i < count; i++)
		journal_unsubscribe(j, cursor[i]);
	load(&r, 100, 1);
	rig_settle(&r.rig);
	/* the session of the first member has to end, so the group always has work for other turns */
	for (unsigned turn = 0; turn < 1000; turn++)
		encode(&r, 1 + turn % 2, false);
	assert_int_equal(journal_lag(j, &position), 0);
	rigged_end(&r);
}

/* ---- members behind ---- */

static unsigned
behind_of(const struct rigged *r)
{
	struct update_group_stats s;

	update_group_stats(r->told[0].m, &s);
	return s.behind;
}

/*
 * Live changes wait for a member that has not had its turn, but not for a member with a full
 * connection.
 */
static void
test_only_full_ones_fall_behind(void **state)
{
	static struct rigged r;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	two_join(&r);
	load(&r, 50000, 1);
	for (unsigned n = 0; n < 1000; n++)
		(void)encode(&r, 0, true);
	assert_in_range(r.told[0].announced, 1, 49999);
	assert_true(member_pending(r.told[1].m));
	assert_int_equal(behind_of(&r), 0);
	turn_hold(r.told[1].m);
	while (encode(&r, 0, true))
		;
	assert_int_equal(r.told[0].announced, 50000);
	assert_int_equal(behind_of(&r), 1);
	drain(&r, true);
	assert_int_equal(r.told[1].announced, 50000);
	assert_int_equal(behind_of(&r), 0);
	rigged_end(&r);
}

/*
 * However short a call is, a member behind receives output: collecting changes does not use up
 * every call.
 */
static void
test_behind_with_little_time(void **state)
{
	static struct rigged r;
	unsigned calls = 0;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	two_join(&r);
	load(&r, 20000, 1);
	while (behind_of(&r) == 0) {
		turn_hold(r.told[1].m);
		(void)encode(&r, 0, false);
	}
	while (r.told[1].announced < 20000) {
		assert_true(++calls <= 20000);
		(void)encode(&r, 0, false);
		(void)encode_for(&r, 1, true, 0);
	}
	rigged_end(&r);
}

/* A member falls behind after a live change has reached its stream: the member still gets this change first. */
static void
test_live_change_of_the_stream(void **state)
{
	static uint8_t buf[2 * BGP_MSG_MAX];
	static struct rigged r;
	const uint8_t live[4] = {24, 192, 0, 2};
	uint32_t path[2] = {65100, 70001};
	bool more, others;
	union rig_attrs a;
	uint64_t kept_max;
	size_t len;

	(void)state;
	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	kept_max = r.groups->c.kept_max;
	r.groups->c.kept_max = 64u << 20;
	two_join(&r);
	drain(&r, true);
	r.rig.bulk = true;
	load(&r, 4000, 1);
	r.rig.bulk = false;
	rig_attrs_make(&a, path, 2, 0x0a0a0a0a);
	announce(&r, SOURCE, "192.0.2.0/24", &a);
	rig_settle(&r.rig);
	while (r.told[0].announced < 4001)
		(void)encode(&r, 0, true);
	turn_hold(r.told[1].m);
	r.groups->c.kept_max = 1;
	announce(&r, SOURCE, "198.51.100.0/24", &a);
	rig_settle(&r.rig);
	while (behind_of(&r) == 0)
		(void)encode(&r, 0, true);
	r.groups->c.kept_max = kept_max;

	qsbr_online(r.rig.readers, r.reader);
	len = turn_send(
		r.told[1].m, buf, sizeof(buf), UINT64_MAX, &more, &others, on_mark, &r.told[1]);
	qsbr_offline(r.rig.readers, r.reader);
	assert_non_null(memmem(buf, len, live, sizeof(live)));
	drain(&r, true);
	rigged_end(&r);
}

/* ---- dropped members ---- */

#define BORNE 2000u
#define FLAPPED (4 * BORNE)
#define LOADED 20000u

/* Flaps unused prefixes. */
static void
flap(struct rigged *r, unsigned first, unsigned count, bool announce)
{
	uint32_t path[1] = {65100};
	union rig_attrs a;

	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	for (unsigned i = 0; i < count; i += 50) {
		struct rib_nlri n[50];

		for (unsigned k = 0; k < 50; k++)
			n[k] = (struct rib_nlri){
				.prefix = prefix_from_v4(0xc0000000u + first + i + k, 32),
				.label = 0xfffff};
		rig_update(&r->rig, SOURCE, announce ? &a.a : NULL, n, 50);
	}
}

/* A turn of the shard, 10 ms after the previous turn. Checks the limit of tombstones. */
static void
shard_turn(struct rigged *r)
{
	rig_put(&r->rig);
	r->rig.now_ns += 10000000;
	(void)rig_turn(&r->rig);
	assert_true(dest_tombstones(shard_table(r->rig.shard, r->rig.table)) < BORNE + 200);
}

/* Both members have read all entries, and no tombstone is held. */
static void
all_is_told(struct rigged *r)
{
	struct journal *j = shard_journal(r->rig.shard);

	for (bool more = true; more || !rig_drained(&r->rig);) {
		shard_turn(r);
		more = false;
		for (unsigned i = 0; i < 2; i++)
			more |= r->told[i].m != NULL &&
				(encode(r, i, false) || member_pending(r->told[i].m));
	}
	drain(r, false);
	for (unsigned i = 0; i < 2; i++) {
		if (r->told[i].m == NULL)
			continue;
		assert_int_equal(member_error(r->told[i].m), 0);
		assert_int_equal(update_group_advertised(r->told[i].m), LOADED);
	}
	assert_int_equal(journal_safe_sequence(j), journal_head(j) + 1);
	assert_false(journal_pressed(j));
}

static void
two_told_few_borne(struct rigged *r)
{
	struct shard_settings settings = {.tombstones_max = BORNE};

	two_told(r);
	shard_settings(r->rig.shard, &settings);
}

/* The thread of the groups has no turn for ten seconds: no session is dropped. */
static void
test_late_thread_costs_no_session(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	for (unsigned i = 0; i < FLAPPED; i += 500) {
		flap(&r, i, 500, true);
		flap(&r, i, 500, false);
	}
	for (unsigned i = 0; i < 1000; i++)
		shard_turn(&r);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(member_error(r.told[i].m), 0);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/*
 * A member without turns beside a member with turns: data is kept for the member, whose connection
 * has room, and the session stays.
 */
static void
test_late_turn_costs_no_session(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 200; i++)
		(void)encode(&r, 0, false);
	flap(&r, 0, FLAPPED, false);
	for (unsigned i = 0; i < 1000; i++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

static bool
blocked(struct rigged *r, unsigned i)
{
	bool others;

	qsbr_online(r->rig.readers, r->reader);
	others = turn_block(r->told[i].m, now_ns() + 1000000);
	qsbr_offline(r->rig.readers, r->reader);
	return others;
}

static void
dropped(struct rigged *r, unsigned i)
{
	struct update_group *g = update_group_leave(r->told[i].m);

	r->told[i].m = NULL;
	if (g != NULL)
		assert_false(update_group_dismantle(g, UINT64_MAX));
}

/* Writes at most one message. */
static void
encode_little(struct rigged *r, unsigned i)
{
	static uint8_t buf[BGP_MSG_MAX];
	bool more, others;

	qsbr_online(r->rig.readers, r->reader);
	(void)turn_send(r->told[i].m, buf, sizeof(buf), now_ns() + 1000000, &more, &others, on_mark,
		&r->told[i]);
	qsbr_offline(r->rig.readers, r->reader);
}

/*
 * A member with a full connection, or with room for one message in `every` turns (0: none), is kept
 * up to the limit; then it is dropped, without an effect on the other member.
 */
static void
goes(unsigned every)
{
	static struct rigged r;
	unsigned turns = 0;

	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	while (member_error(r.told[1].m) == 0) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		(void)encode(&r, 0, false);
		if (every != 0 && turns % every == 0)
			encode_little(&r, 1);
		else
			(void)blocked(&r, 1);
	}
	assert_int_equal(member_error(r.told[1].m), -ESTALE);
	assert_int_equal(shard_evictions(r.rig.shard), 1);
	dropped(&r, 1);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 1);
	rigged_end(&r);
}

static void
test_who_takes_nothing_goes(void **state)
{
	(void)state;
	goes(0);
	goes(50);
}

/*
 * All members have full connections: the group reads the journal nevertheless, and each member
 * holds its own data.
 */
static void
test_nobody_takes_anything(void **state)
{
	static struct rigged r;
	unsigned turns = 0;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	while (r.told[0].m != NULL || r.told[1].m != NULL) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		for (unsigned i = 0; i < 2; i++) {
			if (r.told[i].m == NULL)
				continue;
			(void)blocked(&r, i);
			if (member_error(r.told[i].m) == -ESTALE)
				dropped(&r, i);
		}
	}
	assert_int_equal(shard_evictions(r.rig.shard), 2);
	all_is_told(&r);
	rigged_end(&r);
}

/*
 * A member was blocked while there was no pressure, then read again: later tombstones are not held
 * against the member.
 */
static void
test_who_takes_again_stays(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	for (unsigned i = 0; i < 100; i++) {
		(void)blocked(&r, 1);
		(void)encode(&r, 0, false);
	}
	drain(&r, false);
	flap(&r, 0, FLAPPED, false);
	for (unsigned i = 0; i < 1000; i++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		if (i == 500)
			(void)blocked(&r, 1); /* a blocked turn, five seconds after the last */
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/*
 * A peer reads more slowly than routes are withdrawn, and the connection is full between two
 * messages: the shard waits for the member, and the session stays.
 */
static void
test_slow_reader_stays(void **state)
{
	static struct rigged r;

	(void)state;
	two_told_few_borne(&r);
	r.groups->c.stall_octets = 50; /* messages of the load have 63 */
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	drain(&r, false);
	load(&r, LOADED, 2);
	flap(&r, 0, FLAPPED, false);
	for (unsigned turn = 0; turn < 300; turn++) {
		shard_turn(&r);
		(void)encode(&r, 0, false);
		encode_little(&r, 1);
		(void)blocked(&r, 1);
		(void)blocked(&r, 1);
		encode_little(&r, 1);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	assert_true(journal_pressed(shard_journal(r.rig.shard)));
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
}

/* Permits the /24s of the table, and no /32. */
static struct policy *
only_table(void)
{
	const struct prefix all = prefix_from_v4(0x0a000000, 8);
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	assert_int_equal(policy_prefix_list_add(l, true, &all, 8, 24), 0);
	assert_int_equal(policy_prefix_list_seal(l), 0);
	assert_int_equal(policy_builder_create("only-table", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

/*
 * The connection is full, but the withdrawn routes were never advertised to the member: the member
 * holds no tombstones, so the shard neither drops nor awaits the member.
 */
static void
test_who_holds_nothing_stays(void **state)
{
	struct policy *policy = only_table();
	static struct rigged r;
	unsigned turns = 0;

	(void)state;
	two_told_few_borne(&r);
	for (unsigned i = 0; i < 2; i++)
		update_group_policy(r.told[i].m, policy);
	drain(&r, false);
	load(&r, 10, 3);
	(void)encode(&r, 0, false);
	assert_true(member_pending(r.told[1].m));
	flap(&r, 0, FLAPPED, true);
	flap(&r, 0, FLAPPED, false);
	while (!rig_drained(&r.rig)) {
		assert_true(++turns < 1000);
		shard_turn(&r);
		(void)encode(&r, 0, false);
		(void)blocked(&r, 1);
		assert_int_equal(member_error(r.told[1].m), 0);
	}
	assert_int_equal(behind_of(&r), 1);
	all_is_told(&r);
	assert_int_equal(shard_evictions(r.rig.shard), 0);
	rigged_end(&r);
	policy_destroy(policy);
}

/* ---- reading on for the group ---- */

static void
drain_one(struct rigged *r, unsigned i)
{
	while (encode(r, i, true) || member_pending(r->told[i].m))
		;
}

/* Member 1 is behind and must receive 100 withdrawals. */
static void
two_told_one_behind(struct rigged *r)
{
	two_told(r);
	load(r, LOADED, 1);
	while (behind_of(r) == 0) {
		turn_hold(r->told[1].m);
		(void)encode(r, 0, false);
	}
	drain_one(r, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct rib_nlri n = {
			.prefix = prefix_from_v4(0x0a000000u + i * 256, 24), .label = 0xfffff};

		rig_update(&r->rig, SOURCE, NULL, &n, 1);
	}
	rig_settle(&r->rig);
	drain_one(r, 0);
}

/* Member 0 reads a part of the journal. */
static void
read_some(struct rigged *r, struct journal *j)
{
	uint64_t position, all = journal_lag(j, &position);

	while (journal_lag(j, &position) == all)
		(void)encode_for(r, 0, false, 20000);
}

/*
 * Member 1 is behind and has withdrawals to receive; member 0 has read to a position where no
 * withdrawal is allowed yet, and then has a full connection, well below the limit. Member 1 reads
 * on for both, and finally overtakes member 0.
 */
static void
test_behind_goes_on_for_full_ones(void **state)
{
	static struct rigged r;
	struct journal *j;
	uint64_t position;
	unsigned calls = 0;
	bool others;

	(void)state;
	two_told_one_behind(&r);
	j = shard_journal(r.rig.shard);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	flap(&r, 0, FLAPPED, false);
	rig_settle(&r.rig);
	read_some(&r, j);
	assert_true(journal_lag(j, &position) > 0);
	others = blocked(&r, 0);
	while (encode(&r, 1, true) || member_pending(r.told[1].m))
		assert_true(++calls < 10000);
	assert_int_equal(journal_lag(j, &position), 0);
	assert_int_equal(r.told[1].withdrawn, 100);
	assert_int_equal(behind_of(&r), 0);
	assert_true(others); /* without work for other members the session would not call again */
	assert_false(blocked(&r, 0)); /* only once */
	drain(&r, true);
	rigged_end(&r);
}

/* As before, but more changes than the group keeps for full connections. */
static void
test_full_ones_fall_behind_by_it(void **state)
{
	static struct rigged r;
	uint64_t position;
	unsigned calls = 0;
	struct journal *j;

	(void)state;
	two_told_one_behind(&r);
	j = shard_journal(r.rig.shard);
	flap(&r, 0, FLAPPED, true);
	rig_settle(&r.rig);
	load(&r, LOADED, 2);
	flap(&r, 0, FLAPPED, false);
	rig_settle(&r.rig);
	read_some(&r, j);
	assert_true(journal_lag(j, &position) > LOADED);
	assert_true(blocked(&r, 0));
	while (encode(&r, 1, true) || member_pending(r.told[1].m))
		assert_true(++calls < 10000);
	assert_int_equal(journal_lag(j, &position), 0);
	assert_int_equal(behind_of(&r), 1);
	drain(&r, true);
	assert_int_equal(behind_of(&r), 0);
	rigged_end(&r);
}

/* ---- requests ---- */

/* Constant requests: one walk at a time, and each request is answered by a later walk. */
static void
test_requests(void **state)
{
	static struct rigged r;
	struct update_group_stats s;
	unsigned asked = 0, rounds = 0;
	uint64_t rng = 5;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, 20000, 4);
	for (unsigned i = 0; i < MEMBERS; i++) {
		struct update_member_config c = member_config(&r, i);

		join(&r, i, &c);
	}
	drain(&r, false);
	while (asked < REQUESTS) {
		unsigned i = (unsigned)(hash_mix(rng++) % MEMBERS);
		unsigned borr = r.told[i].marks[MARK_BORR];

		update_group_refresh(r.told[i].m, true);
		asked++;
		for (unsigned k = 0; k < MEMBERS; k++)
			encode(&r, k, false);
		assert_in_range(r.told[i].marks[MARK_BORR], borr, borr + 1);
		rounds++;
	}
	for (unsigned i = 0; i < MEMBERS; i++) { /* the last request of each is answered whole */
		unsigned eorr = r.told[i].marks[MARK_EORR];

		update_group_refresh(r.told[i].m, true);
		drain(&r, false);
		assert_true(r.told[i].marks[MARK_EORR] > eorr);
		assert_int_equal(r.told[i].marks[MARK_EORR], r.told[i].marks[MARK_BORR]);
		assert_int_equal(r.told[i].marks[MARK_EORR], r.told[i].marks[MARK_WALK_DONE]);
	}
	update_group_stats(r.told[0].m, &s);
	printf("%u requests, %llu walks\n", asked, (unsigned long long)s.walks);
	assert_true(s.walks < asked);
	rigged_end(&r);
}

/* ---- next hops ---- */

static void
test_own_next_hop(void **state)
{
	uint32_t path[1] = {65100};
	static struct rigged r;
	union rig_attrs a;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	rig_attrs_make(&a, path, 1, 0x0a0a0a0a);
	for (unsigned i = 0; i < 3; i++) {
		struct update_member_config c = member_config(&r, i);

		join(&r, i, &c);
	}
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
	for (unsigned i = 0; i < 6; i++) {
		struct update_member_config c = member_config(&r, i);

		if (i == 1 || i == 5)
			c.rules.remove_private_as = true;
		if (i == 5)
			c.rules.policy = prepends;
		if (i == 2) /* the peer is AS 65003 */
			c.rules.as_override = true;
		if (i == 3)
			c.rules.local_as = 64999;
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
	assert_false(attrs_of(&r.told[0])->has & (ATTR_HAS_MED | ATTR_HAS_LOCAL_PREF));
	rigged_end(&r);
	policy_destroy(prepends);
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

/* ---- one member in ten that takes nothing ---- */

/* The other members get the whole table long before the patience of the walk ends. */
static void
test_few_hold_up_nobody(void **state)
{
	static struct rigged r;
	uint64_t until = now_ns() + UINT64_C(30000000000);
	struct update_group_stats s;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	r.groups->c.patience_ns = UINT64_C(600000000000);
	load(&r, 20000, 1);
	for (unsigned i = 0; i < 10; i++) {
		struct update_member_config c = member_config(&r, i);

		join(&r, i, &c);
	}
	while (r.told[0].marks[MARK_END_OF_RIB] == 0 && now_ns() < until)
		for (unsigned i = 0; i < 10; i++) {
			if (i == 9)
				turn_block(r.told[i].m, 0);
			else
				encode(&r, i, false);
		}
	assert_int_equal(r.told[0].marks[MARK_END_OF_RIB], 1);
	update_group_stats(r.told[0].m, &s);
	assert_int_equal(s.fell_behind, 1);
	assert_int_equal(r.told[9].octets, 0);
	drain(&r, false);
	assert_int_equal(r.told[9].marks[MARK_END_OF_RIB], 1);
	rigged_end(&r);
}

/* ---- how far a member is behind ---- */

#define S UINT64_C(1000000000)

/* A changed route at time `now`. */
static void
change_at(struct rigged *r, uint64_t now)
{
	static uint32_t number = 80000;
	uint32_t path[2] = {65100, ++number};
	struct rib_nlri n = {.prefix = prefix_from_v4(0x0a000000u, 24), .label = 0xfffff};
	union rig_attrs a;

	rig_attrs_make(&a, path, 2, 0x0a0a0a0a);
	rig_update(&r->rig, SOURCE, &a.a, &n, 1);
	rig_settle(&r->rig);
	update_groups_gather(r->groups, now, false);
}

static void
take_all(struct rigged *r, unsigned i)
{
	while (encode(r, i, false) || member_pending(r->told[i].m))
		;
}

/* The first messages of a batch. */
static void
take_some(struct rigged *r, unsigned i)
{
	static uint8_t buf[2 * BGP_MSG_MAX];
	bool more, others;

	qsbr_online(r->rig.readers, r->reader);
	assert_int_not_equal(turn_send(r->told[i].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				     on_mark, &r->told[i]),
		0);
	qsbr_offline(r->rig.readers, r->reader);
}

static void
expect_lag(struct rigged *r, unsigned i, uint64_t now, uint64_t lag)
{
	uint64_t seen = update_group_lag_ns(r->told[i].m, now);

	assert_in_range(seen, lag > S / 5 ? lag - S / 5 : 0, lag > 0 ? lag + S / 5 : 0);
}

static void
test_lag(void **state)
{
	static struct rigged r;
	uint64_t t = 100 * S;

	rigged_begin(&r, FAMILY_IPV4_UNICAST);
	load(&r, 10, 1);
	update_groups_gather(r.groups, t, false);
	for (unsigned i = 0; i < 2; i++) {
		struct update_member_config c = member_config(&r, i);

		join(&r, i, &c);
	}
	drain(&r, false);
	assert_true(update_group_shared(r.told[0].m, r.told[1].m));
	for (unsigned i = 0; i < 2; i++) {
		expect_lag(&r, i, t + 50 * S, 0);
		assert_false(update_group_waits(r.told[i].m));
	}
	/* The oldest message counts. */
	change_at(&r, t + S);
	turn_block(r.told[1].m, UINT64_MAX);
	take_all(&r, 0);
	change_at(&r, t + 5 * S);
	take_all(&r, 0);
	assert_true(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 11 * S, 10 * S);
	expect_lag(&r, 0, t + 11 * S, 0);
	/* Likewise behind the stream, and until the member is back. */
	behind_begin(r.told[1].m);
	assert_true(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 21 * S, 20 * S);
	take_all(&r, 1);
	assert_false(update_group_waits(r.told[1].m));
	expect_lag(&r, 1, t + 21 * S, 0);
	/* Messages that no member has taken are no distance. */
	load(&r, 2000, 1);
	update_groups_gather(r.groups, t + 30 * S, false);
	take_some(&r, 0);
	for (unsigned i = 0; i < 2; i++)
		turn_block(r.told[i].m, 0);
	assert_true(update_group_waits(r.told[0].m));
	expect_lag(&r, 0, t + 50 * S, 0);
	expect_lag(&r, 1, t + 50 * S, 20 * S);
	/* The other member passes, and leaves. */
	take_all(&r, 1);
	expect_lag(&r, 1, t + 50 * S, 0);
	expect_lag(&r, 0, t + 50 * S, 20 * S);
	assert_null(update_group_leave(r.told[1].m));
	r.told[1].m = NULL;
	take_all(&r, 0);
	expect_lag(&r, 0, t + 50 * S, 0);
	rigged_end(&r);
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
		cmocka_unit_test(test_groups_of_their_own),
		cmocka_unit_test(test_reflection),
		cmocka_unit_test(test_cluster_id_changes),
		cmocka_unit_test(test_rest_follows_during_split),
		cmocka_unit_test(test_commits_faster_than_a_split),
		cmocka_unit_test(test_split_is_paced),
		cmocka_unit_test(test_split_without_a_cursor),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_packed_once),
		cmocka_unit_test(test_late_joins_share_the_walk),
		cmocka_unit_test(test_late_join_stays_alone),
		cmocka_unit_test(test_groups_read_together),
		cmocka_unit_test(test_passed_over_costs_no_windows),
		cmocka_unit_test(test_groups_leave_one_behind),
		cmocka_unit_test(test_new_as_again),
		cmocka_unit_test(test_only_full_ones_fall_behind),
		cmocka_unit_test(test_behind_with_little_time),
		cmocka_unit_test(test_live_change_of_the_stream),
		cmocka_unit_test(test_late_thread_costs_no_session),
		cmocka_unit_test(test_late_turn_costs_no_session),
		cmocka_unit_test(test_who_takes_nothing_goes),
		cmocka_unit_test(test_nobody_takes_anything),
		cmocka_unit_test(test_who_takes_again_stays),
		cmocka_unit_test(test_slow_reader_stays),
		cmocka_unit_test(test_who_holds_nothing_stays),
		cmocka_unit_test(test_behind_goes_on_for_full_ones),
		cmocka_unit_test(test_full_ones_fall_behind_by_it),
		cmocka_unit_test(test_lag),
		cmocka_unit_test(test_few_hold_up_nobody),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
