/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of update groups with many members: a shard with three sources, and for each member the
 * counts and the newest attributes of its messages. One thread uses the rig.
 */
#pragma once

#include "control/export/update_group.h"

#include "control/bgp/bgp_msg.h"
#include "control/base/threads.h"
#include "tests/control/update_turn.h"
#include "tests/rib/shard_rig.h"

#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define MEMBERS 20u
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

static inline struct attr_set *
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

static inline void
rigged_begin_journal(struct rigged *r, enum family family, uint32_t journal)
{
	struct update_groups_config c;

	memset(r, 0, sizeof(*r));
	rig_init_journal(&r->rig, false, journal);
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

static inline void
rigged_begin(struct rigged *r, enum family family)
{
	rigged_begin_journal(r, family, 0);
}

static inline struct update_member_config
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

static inline void
join(struct rigged *r, unsigned i, const struct update_member_config *c)
{
	qsbr_online(r->rig.readers, r->reader);
	assert_int_equal(update_group_join(r->groups, c, &r->told[i].m), 0);
	qsbr_offline(r->rig.readers, r->reader);
}

/* The first members join, with member_config(). */
static inline void
join_first(struct rigged *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct update_member_config c = member_config(r, i);

		join(r, i, &c);
	}
}

static inline void
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

static inline void
on_mark(void *ctx, enum update_group_mark m)
{
	((struct told *)ctx)->marks[m]++;
}

static inline void
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

static inline double
cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Receives output; with `look`, decodes each UPDATE. */
static inline bool
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

static inline bool
encode(struct rigged *r, unsigned i, bool look)
{
	return encode_for(r, i, look, 1000000);
}

static inline void
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

static inline void
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

static inline void
announce(struct rigged *r, uint16_t peer, const char *prefix, const union rig_attrs *a)
{
	struct rib_nlri n = {.label = 0xfffff};

	assert_int_equal(prefix_parse(prefix, &n.prefix), 0);
	rig_update_in(&r->rig, r->family, peer, &a->a, &n, 1, r->rig.now_ns);
}

/* ---- two members, and members behind ---- */

static inline void
two_join(struct rigged *r)
{
	for (unsigned i = 0; i < 2; i++) {
		struct update_member_config c = member_config(r, i);

		join(r, i, &c);
	}
	drain(r, false);
}

/* Two members with 20,000 routes. */
static inline void
two_told(struct rigged *r)
{
	rigged_begin(r, FAMILY_IPV4_UNICAST);
	load(r, 20000, 4);
	two_join(r);
}

static inline unsigned
behind_of(const struct rigged *r)
{
	struct update_group_stats s;

	update_group_stats(r->told[0].m, &s);
	return s.behind;
}

#define BORNE 2000u
#define FLAPPED (4 * BORNE)
#define LOADED 20000u

/* Flaps unused prefixes. */
static inline void
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

static inline bool
blocked(struct rigged *r, unsigned i)
{
	bool others;

	qsbr_online(r->rig.readers, r->reader);
	others = turn_block(r->told[i].m, now_ns() + 1000000);
	qsbr_offline(r->rig.readers, r->reader);
	return others;
}
