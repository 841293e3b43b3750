/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VPNv4 and VPNv6 in update groups, octet by octet: reflection, labels that change alone, next hops of 12, 24 and 48 octets, labels that would get a
 * foreign next hop, and previews. Input and expected output are messages written here in the forms of RFC 4364 4.3, RFC 4659 3.2, RFC 4760 and RFC 8277, or
 * vectors of ../shared/data, never output of the code under test.
 */
#include "control/export/export_preview.h"

#include "control/config/config.h"
#include "control/export/rt_filter.h"
#include "tests/control/update_group_rig.h"

#include <errno.h>

#define MEMBERS 4u
#define SOURCE 100u /* external; 101 is internal, 102 our client */
#define INTERNAL 101u
#define CLIENT 102u
#define CLUSTER 0x01020304u
#define V4 FAMILY_VPNV4_UNICAST
#define V6 FAMILY_VPNV6_UNICAST

#define RD_ZERO "0000000000000000"
#define HOP_V4 RD_ZERO "c0000209" /* 192.0.2.9 */
#define HOP_V6 RD_ZERO "20010db8000000000000000000000009"
#define HOP_MAPPED RD_ZERO "00000000000000000000ffffc0000209"
#define HOP_LINK_LOCAL RD_ZERO "fe800000000000000000000000000009"
#define HOP_V4_7 RD_ZERO "c0000207" /* 192.0.2.7 */
#define HOP_V6_7 RD_ZERO "20010db8000000000000000000000007"
#define HOP_MAPPED_7 RD_ZERO "00000000000000000000ffffc0000207"
/* 10.1.0.0/24 of two sites: distinguishers 64512:1 and 192.0.2.1:7, labels 16 and 1048574 */
#define SITE_1 "0000fc0000000001"
#define SITE_2 "0001c00002010007"
#define NLRI_1                                                                                     \
	"70"                                                                                       \
	"000101" SITE_1 "0a0100"
#define NLRI_2                                                                                     \
	"70"                                                                                       \
	"ffffe1" SITE_2 "0a0100"
#define NLRI_2_AS(label) "70" label SITE_2 "0a0100"
#define ORIGIN_IGP_ATTR "40010100"
#define NO_PATH "400200"
#define LOCAL_PREF_100 "40050400000064"
#define COMMUNITY "c00804fc000001"
#define TARGET "c010080002fc0000000001" /* rt:64512:1 */

struct told {
	struct update_member *m;
	uint8_t octets[4096];
	size_t len;
};

struct world {
	struct rig rig;
	enum family family;
	unsigned reader;
	struct adj_records *records;
	struct swaps *swaps; /* NULL: no label is swapped */
	struct update_groups *groups;
	struct told told[MEMBERS];
};

/* With `labels` labels of ours from 100 on; 0: no label is swapped. */
static void
begin_swapping(struct world *w, enum family family, uint32_t labels)
{
	struct update_groups_config c;

	memset(w, 0, sizeof(*w));
	rig_init(&w->rig, false);
	w->family = family;
	assert_int_equal(shard_table_add(w->rig.shard, VRF_DEFAULT, family, &w->rig.table), 0);
	assert_int_equal(qsbr_register(w->rig.readers, &w->reader), 0);
	assert_int_equal(adj_records_create(w->rig.arena, &w->records), 0);
	if (labels > 0) {
		struct swaps_config sc = {.arena = w->rig.arena,
			.first = 100,
			.last = 99 + labels,
			.fresh = {100, labels},
			.all = {100, labels}};

		assert_int_equal(swaps_create(&sc, &w->swaps), 0);
		adj_records_swaps(w->records, w->swaps);
	}
	c = (struct update_groups_config){.arena = w->rig.arena,
		.shard = w->rig.shard,
		.records = w->records,
		.swaps = w->swaps};
	assert_int_equal(update_groups_create(&c, &w->groups), 0);
	for (uint16_t p = SOURCE; p <= CLIENT; p++) {
		struct shard_peer k = {.id = {p},
			.addr = addr_from_v4(0xc6336400u + p),
			.external = p == SOURCE,
			.multihop = true,
			.rr_client = p == CLIENT,
			.asn = p == SOURCE ? 65001 : RIG_OWN_ASN};

		assert_int_equal(shard_peer_add(w->rig.shard, &k), 0);
		shard_peer_import(w->rig.shard, k.id, family, policy_accept_all());
		rig_up(&w->rig, p, k.asn, 0x0a000000u + p, k.external);
	}
}

static void
begin(struct world *w, enum family family)
{
	begin_swapping(w, family, 0);
}

static struct update_member_config
member_config(const struct world *w, unsigned i, enum update_kind kind)
{
	return (struct update_member_config){
		.id = {(uint16_t)(1 + i)},
		.rules = {.table = w->rig.table,
			.family = w->family,
			.kind = kind,
			.own_as = RIG_OWN_ASN,
			.local_as = RIG_OWN_ASN,
			.peer_as = kind == UPDATE_EXTERNAL ? 65010 : RIG_OWN_ASN,
			.cluster_id = CLUSTER,
			.encode = {.as4 = true, .send_communities = true},
			.policy = policy_accept_all()},
		.next_hop = addr_from_v4(0xc0000201u + i),
	};
}

static void
join(struct world *w, unsigned i, const struct update_member_config *c)
{
	qsbr_online(w->rig.readers, w->reader);
	assert_int_equal(update_group_join(w->groups, c, &w->told[i].m), 0);
	qsbr_offline(w->rig.readers, w->reader);
}

static void
end(struct world *w)
{
	for (unsigned i = 0; i < MEMBERS; i++) {
		struct update_group *g =
			w->told[i].m != NULL ? update_group_leave(w->told[i].m) : NULL;

		if (g != NULL)
			assert_false(update_group_dismantle(g, UINT64_MAX));
	}
	update_groups_destroy(w->groups);
	assert_int_equal(adj_records_count(w->records), 0);
	adj_records_destroy(w->records);
	swaps_destroy(w->swaps);
	qsbr_unregister(w->rig.readers, w->reader);
	rig_fini(&w->rig);
}

/* ---- messages ---- */

static void
put_hex(struct wr *w, const char *hex)
{
	for (; *hex != '\0'; hex += 2) {
		char octet[3] = {hex[0], hex[1], 0};

		wr_u8(w, (uint8_t)strtoul(octet, NULL, 16));
	}
	assert_false(w->bad);
}

/* An UPDATE with MP_REACH_NLRI, then `attrs`; without a next hop MP_UNREACH_NLRI alone. Returns the length. */
static size_t
update_message(
	uint8_t *buf, enum family f, const char *next_hop, const char *nlri, const char *attrs)
{
	struct wr w = wr_init(buf, BGP_MSG_MAX);
	size_t hop = next_hop != NULL ? strlen(next_hop) / 2 : 0, len = strlen(nlri) / 2;
	size_t value = 3 + len + (next_hop != NULL ? 2 + hop : 0);

	put_hex(&w, "ffffffffffffffffffffffffffffffff");
	wr_u16(&w, (uint16_t)(23 + 4 + value + strlen(attrs) / 2));
	put_hex(&w, "020000");
	wr_u16(&w, (uint16_t)(4 + value + strlen(attrs) / 2));
	put_hex(&w, next_hop != NULL ? "900e" : "900f");
	wr_u16(&w, (uint16_t)value);
	wr_u16(&w, family_afi(f));
	wr_u8(&w, SAFI_VPN);
	if (next_hop != NULL) {
		wr_u8(&w, (uint8_t)hop);
		put_hex(&w, next_hop);
		wr_u8(&w, 0);
	}
	put_hex(&w, nlri);
	put_hex(&w, attrs);
	return wr_len(&w);
}

/* A peer sends a message. */
static void
hear(struct world *w, unsigned peer, const uint8_t *msg, size_t len)
{
	static union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	struct bgp_update_options o = {.as4 = true,
		.external = peer == SOURCE,
		.extended_next_hop = 0xf,
		.families = (uint8_t)(1u << w->family)};
	struct bgp_update u;
	struct rib_nlri list[16];
	struct nlri n;

	bgp_update_decode(msg, len, &o, &attrs.a, &u);
	assert_int_equal(u.error.severity, BGP_OK);
	for (unsigned i = 0; i < u.announced_count + u.withdrawn_count; i++) {
		bool withdraws = i >= u.announced_count;
		struct bgp_nlri_field *f =
			withdraws ? &u.withdrawn[i - u.announced_count] : &u.announced[i];
		unsigned count = 0;

		while (nlri_read_form(&f->nlri, f->form, &n)) {
			assert_true(count < 16);
			list[count++] =
				(struct rib_nlri){.prefix = n.prefix, .rd = n.rd, .label = n.label};
		}
		rig_update_in(&w->rig, w->family, (uint16_t)peer, withdraws ? NULL : &attrs.a, list,
			count, w->rig.now_ns);
	}
	rig_settle(&w->rig);
}

static void
announce(struct world *w, unsigned peer, const char *next_hop, const char *nlri, const char *attrs)
{
	uint8_t msg[BGP_MSG_MAX];

	hear(w, peer, msg, update_message(msg, w->family, next_hop, nlri, attrs));
}

static void
withdraw(struct world *w, unsigned peer, const char *nlri)
{
	uint8_t msg[BGP_MSG_MAX];

	hear(w, peer, msg, update_message(msg, w->family, NULL, nlri, ""));
}

static void
on_mark(void *ctx, enum update_group_mark m)
{
}

/* Lets all members send; what they sent before is forgotten. */
static void
drain(struct world *w)
{
	bool more = true, again, others;

	for (unsigned i = 0; i < MEMBERS; i++)
		w->told[i].len = 0;
	while (more) {
		more = false;
		for (unsigned i = 0; i < MEMBERS; i++) {
			struct told *t = &w->told[i];
			uint8_t buf[BGP_MSG_MAX];
			size_t len;

			if (t->m == NULL)
				continue;
			qsbr_online(w->rig.readers, w->reader);
			len = turn_send(
				t->m, buf, sizeof(buf), UINT64_MAX, &again, &others, on_mark, NULL);
			qsbr_offline(w->rig.readers, w->reader);
			assert_true(t->len + len <= sizeof(t->octets));
			memcpy(t->octets + t->len, buf, len);
			t->len += len;
			more |= again | others;
		}
	}
}

/* The member has sent exactly these octets since drain() began. */
static void
expect_octets(const struct told *t, const uint8_t *octets, size_t len, int line)
{
	if (t->len == len && (len == 0 || memcmp(t->octets, octets, len) == 0))
		return;
	fprintf(stderr, "line %d: sent ", line);
	for (size_t i = 0; i < t->len; i++)
		fprintf(stderr, "%02x", t->octets[i]);
	fprintf(stderr, "\nexpected  ");
	for (size_t i = 0; i < len; i++)
		fprintf(stderr, "%02x", octets[i]);
	fprintf(stderr, "\n");
	fail_msg("line %d: other octets", line);
}

#define expect_update(w, i, hop, nlri, attrs)                                                      \
	do {                                                                                       \
		uint8_t msg_[BGP_MSG_MAX];                                                         \
		size_t len_ = update_message(msg_, (w)->family, hop, nlri, attrs);                 \
		expect_octets(&(w)->told[i], msg_, len_, __LINE__);                                \
	} while (0)
#define expect_withdrawal(w, i, nlri) expect_update(w, i, NULL, nlri, "")
#define expect_nothing(w, i) expect_octets(&(w)->told[i], NULL, 0, __LINE__)

/* The member joins, and sends End-of-RIB. */
static void
join_empty(struct world *w, unsigned i, const struct update_member_config *c)
{
	uint8_t msg[64];

	join(w, i, c);
	drain(w);
	expect_octets(
		&w->told[i], msg, bgp_end_of_rib_encode(w->family, msg, sizeof(msg)), __LINE__);
}

static void
join_kind(struct world *w, unsigned i, enum update_kind kind)
{
	struct update_member_config c = member_config(w, i, kind);

	join_empty(w, i, &c);
}

/* ---- reflection ---- */

/* The label of a route in a view of the member. */
static uint32_t
exported_label(struct world *w, unsigned i, uint64_t rd)
{
	struct dest_table *t = shard_table(w->rig.shard, w->rig.table);
	struct prefix p = prefix_from_v4(0x0a010000, 24);
	const struct attr_set *a;
	uint32_t label = 0;

	qsbr_online(w->rig.readers, w->reader);
	a = update_group_exported(w->told[i].m, dest_find_rd(t, (struct vpn_rd){rd}, &p), &label);
	qsbr_offline(w->rig.readers, w->reader);
	assert_non_null(a);
	assert_int_equal(addr_v4(&a->next_hop), 0xc0000209);
	return label;
}

/* RFC 4456 8 and 10, RFC 4364 4.3.4: next hop, labels, distinguishers and targets pass unchanged. */
static void
test_reflected(void **state)
{
	struct world w;

	begin(&w, V4);
	join_kind(&w, 0, UPDATE_CLIENT);
	join_kind(&w, 1, UPDATE_INTERNAL);
	announce(&w, INTERNAL, HOP_V4, NLRI_1 NLRI_2,
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 COMMUNITY TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4, NLRI_1 NLRI_2,
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 COMMUNITY "8009040a000065"
								 "800a0401020304" TARGET);
	expect_nothing(&w, 1); /* an internal peer that is no client */
	/* the label changes alone, of one of two sites with the same prefix */
	announce(&w, INTERNAL, HOP_V4,
		"70"
		"000111" SITE_1 "0a0100",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 COMMUNITY TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4,
		"70"
		"000111" SITE_1 "0a0100",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 COMMUNITY "8009040a000065"
								 "800a0401020304" TARGET);
	announce(&w, INTERNAL, HOP_V4,
		"70"
		"000111" SITE_1 "0a0100",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 COMMUNITY TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	assert_int_equal(exported_label(&w, 0, 0x0000fc0000000001u), 17);
	assert_int_equal(exported_label(&w, 0, 0x0001c00002010007u), 1048574);
	/* RFC 8277 2.4: withdrawals have 0x800000 in place of the label */
	withdraw(&w, INTERNAL,
		"70"
		"000000" SITE_2 "0a0100");
	drain(&w);
	expect_withdrawal(&w, 0,
		"70"
		"800000" SITE_2 "0a0100");
	/* from a client to all, with the labels 0 and 3 and a default route */
	announce(&w, CLIENT, HOP_V4,
		"58"
		"000001" SITE_1 "70"
		"000031" SITE_2 "0a0100",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	drain(&w);
	for (unsigned i = 0; i < 2; i++)
		expect_update(&w, i, HOP_V4,
			"58"
			"000001" SITE_1 "70"
			"000031" SITE_2 "0a0100",
			ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 "8009040a000066"
							       "800a0401020304" TARGET);
	end(&w);
}

/* frr-mp-ipv4-vpnv4-bogus-rd-type and gobgp-mpreachnlriwithvpnv6prefix-1: a distinguisher of unknown type, traffic class bits and no S bit behind the labels. */
static void
test_vectors(void **state)
{
	static const char *const path = "4002"
					"0a"
					"0202"
					"0000fde9"
					"0000fdf2";
	char attrs[200];
	struct world w;

	snprintf(attrs, sizeof(attrs), ORIGIN_IGP_ATTR "%s" LOCAL_PREF_100, path);
	begin(&w, V4);
	join_kind(&w, 0, UPDATE_INTERNAL);
	announce(&w, SOURCE, RD_ZERO "c0a80001",
		"68"
		"000102"
		"ff00000200ff0304"
		"0a01"
		"69"
		"ff0000"
		"0000c0a800010a02"
		"030000",
		"40010100"
		"40020a02020000fde90000fdf2");
	drain(&w);
	expect_update(&w, 0, RD_ZERO "c0a80001",
		"68"
		"000101"
		"ff00000200ff0304"
		"0a01"
		"69"
		"ff0001"
		"0000c0a800010a02"
		"030000",
		attrs);
	withdraw(&w, SOURCE,
		"68"
		"000102"
		"ff00000200ff0304"
		"0a01");
	drain(&w);
	expect_withdrawal(&w, 0,
		"68"
		"800000"
		"ff00000200ff0304"
		"0a01");
	end(&w);

	begin(&w, V6);
	join_kind(&w, 0, UPDATE_INTERNAL);
	announce(&w, SOURCE, RD_ZERO "20010db8000100000000000000000001",
		"d4"
		"000101"
		"0000fde800000064"
		"20010001000000000000000000000000",
		"40010100"
		"40020a02020000fde90000fdf2");
	drain(&w);
	expect_update(&w, 0, RD_ZERO "20010db8000100000000000000000001",
		"d4"
		"000101"
		"0000fde800000064"
		"20010001000000000000000000000000",
		attrs);
	end(&w);
}

/* ---- next hops ---- */

/* A received next hop, and the one that an internal peer gets. */
static void
test_next_hops_kept(void **state)
{
	static const struct {
		enum family family;
		const char *received, *sent; /* NULL: the route is not advertised */
		bool extended;
	} cases[] = {
		{V4, HOP_V4, HOP_V4, false},
		/* RFC 8950 3: only where the session has negotiated the encoding */
		{V4, HOP_V6, HOP_V6, true},
		{V4, HOP_V6, NULL, false},
		{V6, HOP_V6, HOP_V6, false},
		/* RFC 4659 3.2.1.2 */
		{V6, HOP_MAPPED, HOP_MAPPED, false},
		/* RFC 2545 3: a link-local address stays on its link */
		{V6, HOP_V6 HOP_LINK_LOCAL, HOP_V6, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *nlri = cases[i].family == V4 ? NLRI_1
							 : "78"
							   "000101" SITE_1 "20010db8";
		struct update_member_config c;
		struct world w;

		begin(&w, cases[i].family);
		c = member_config(&w, 0, UPDATE_CLIENT);
		c.rules.encode.extended_next_hop = cases[i].extended;
		join_empty(&w, 0, &c);
		announce(&w, SOURCE, cases[i].received, nlri,
			ORIGIN_IGP_ATTR "40020602010000fde9" TARGET);
		drain(&w);
		if (cases[i].sent == NULL)
			expect_nothing(&w, 0);
		else
			expect_update(&w, 0, cases[i].sent, nlri,
				ORIGIN_IGP_ATTR "40020602010000fde9" LOCAL_PREF_100 TARGET);
		end(&w);
	}
}

/* Publishes a route of this router, as an instance exports routes: with a label of ours and without a next hop. */
static void
own_route(struct world *w, const struct prefix *p, uint32_t label)
{
	struct dest_table *t = shard_table(w->rig.shard, w->rig.table);
	struct journal *j = shard_journal(w->rig.shard);
	struct path_set *paths = path_set_alloc(t, 1);
	struct attr_set a = {.origin = ORIGIN_IGP};
	struct dest_id id;

	assert_non_null(paths);
	assert_int_equal(dest_get_rd(t, (struct vpn_rd){0x0000fc0000000001u}, p, &id), 0);
	paths->eligible = paths->multipath = 1;
	paths->path[0] = (struct rib_path){.peer = PEER_SELF,
		.label_flags =
			label << 12 | SOURCE_NETWORK << PATH_SOURCE_SHIFT | PATH_NEXT_HOP_UP};
	assert_int_equal(
		attr_intern(shard_attrs(w->rig.shard), &a, 1, &paths->path[0].accepted), 0);
	dest_publish(t, id, paths, journal_next_sequence(j));
	journal_append(j, w->rig.table, id);
}

/* Our own address as next hop, in all forms: each member its own. */
static void
test_next_hops_own(void **state)
{
	static const struct {
		enum family family;
		const char *next_hop, *next_hop_7, *link_local;
		bool extended;
		const char *sent, *sent_7; /* NULL: no address, so nothing is advertised */
	} cases[] = {
		{V4, "192.0.2.9", "192.0.2.7", NULL, false, HOP_V4, HOP_V4_7},
		{V4, "192.0.2.9", "192.0.2.7", NULL, true, HOP_V4, HOP_V4_7},
		{V4, "2001:db8::9", "2001:db8::7", NULL, true, HOP_V6, HOP_V6_7},
		{V4, "2001:db8::9", "2001:db8::7", "fe80::9", true, HOP_V6 HOP_LINK_LOCAL,
			HOP_V6_7 HOP_LINK_LOCAL},
		{V4, "2001:db8::9", "2001:db8::7", NULL, false, NULL, NULL},
		{V6, "2001:db8::9", "2001:db8::7", NULL, false, HOP_V6, HOP_V6_7},
		{V6, "2001:db8::9", "2001:db8::7", "fe80::9", false, HOP_V6 HOP_LINK_LOCAL,
			HOP_V6_7 HOP_LINK_LOCAL},
		{V6, "192.0.2.9", "192.0.2.7", NULL, false, HOP_MAPPED, HOP_MAPPED_7},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *nlri = cases[i].family == V4 ? NLRI_1
							 : "78"
							   "000101" SITE_1 "20010db8";
		struct prefix p;
		struct world w;

		begin(&w, cases[i].family);
		for (unsigned m = 0; m < 2; m++) {
			struct update_member_config c = member_config(&w, m, UPDATE_INTERNAL);

			c.rules.encode.extended_next_hop = cases[i].extended;
			assert_int_equal(
				addr_parse(m == 0 ? cases[i].next_hop : cases[i].next_hop_7,
					&c.next_hop),
				0);
			if (cases[i].link_local != NULL)
				assert_int_equal(
					addr_parse(cases[i].link_local, &c.next_hop_link_local), 0);
			join_empty(&w, m, &c);
		}
		assert_true(update_group_shared(w.told[0].m, w.told[1].m));
		assert_int_equal(
			prefix_parse(cases[i].family == V4 ? "10.1.0.0/24" : "2001:db8::/32", &p),
			0);
		own_route(&w, &p, 16);
		drain(&w);
		if (cases[i].sent == NULL) {
			expect_nothing(&w, 0);
			expect_nothing(&w, 1);
		} else {
			expect_update(
				&w, 0, cases[i].sent, nlri, ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100);
			expect_update(&w, 1, cases[i].sent_7, nlri,
				ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100);
		}
		end(&w);
	}
}

/*
 * Routes of one message replace routes with equal attributes for the member: each is announced only
 * with another label than before.
 */
static void
test_replaced_labels(void **state)
{
	struct update_member_config c;
	struct world w;

	begin(&w, V4);
	c = member_config(&w, 0, UPDATE_EXTERNAL);
	c.rules.next_hop_unchanged = true;
	join_empty(&w, 0, &c);
	announce(&w, INTERNAL, HOP_V4, NLRI_1 NLRI_2_AS("000101"),
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4, NLRI_1 NLRI_2_AS("000101"),
		ORIGIN_IGP_ATTR "4002060201"
				"0000fc00" TARGET);
	announce(&w, INTERNAL, HOP_V4, NLRI_1 NLRI_2_AS("000111"),
		ORIGIN_IGP_ATTR NO_PATH "400504000000c8" TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4, NLRI_2_AS("000111"),
		ORIGIN_IGP_ATTR "4002060201"
				"0000fc00" TARGET);
	announce(&w, INTERNAL, HOP_V4, NLRI_1 NLRI_2_AS("000101"),
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4, NLRI_2_AS("000101"),
		ORIGIN_IGP_ATTR "4002060201"
				"0000fc00" TARGET);
	announce(&w, INTERNAL, HOP_V4, NLRI_1 NLRI_2_AS("000101"),
		ORIGIN_IGP_ATTR NO_PATH "400504000000c8" TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	end(&w);
}

/* The refusal of destination `id` towards member `i`. */
static enum update_refusal
refusal_of(struct world *w, unsigned i, uint32_t id)
{
	struct update_fate fate;

	qsbr_online(w->rig.readers, w->reader);
	update_group_fate(w->told[i].m, (struct dest_id){id}, false, &fate);
	qsbr_offline(w->rig.readers, w->reader);
	assert_int_equal(fate.advertised, fate.refusal == EXPORT_PERMITTED);
	return fate.refusal;
}

static enum update_refusal
refusal(struct world *w, unsigned i)
{
	return refusal_of(w, i, 0);
}

/* ---- labels that would get another next hop ---- */

#define EXTERNAL_PATH "40020602010000fde9"
#define PREPENDED "40020a02020000fc000000fde9"

/* A label is advertised with the next hop that it came with, or not at all. */
static void
test_foreign_labels(void **state)
{
	uint8_t octets[2 * BGP_MSG_MAX];
	struct update_group_stats stats;
	struct update_member_config c;
	struct update_rules rules;
	uint64_t foreign;
	struct world w;
	size_t len;

	begin(&w, V4);
	c = member_config(&w, 0, UPDATE_EXTERNAL); /* sets its own next hop */
	join_empty(&w, 0, &c);
	c = member_config(&w, 1, UPDATE_EXTERNAL);
	c.rules.next_hop_unchanged = true;
	join_empty(&w, 1, &c);
	c = member_config(&w, 2, UPDATE_INTERNAL);
	c.rules.next_hop_self = true;
	join_empty(&w, 2, &c);
	c = member_config(&w, 3, UPDATE_INTERNAL);
	join_empty(&w, 3, &c);
	announce(&w, SOURCE, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	expect_update(&w, 1, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR PREPENDED TARGET);
	expect_nothing(&w, 2);
	expect_update(&w, 3, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	assert_int_equal(update_group_advertised(w.told[0].m), 0);
	update_group_stats(w.told[0].m, &stats);
	foreign = stats.foreign_labels;
	assert_true(foreign > 0);
	assert_int_equal(refusal(&w, 0), EXPORT_NEXT_HOP);
	update_group_stats(w.told[0].m, &stats);
	assert_int_equal(stats.foreign_labels, foreign); /* a question counts nothing */
	update_group_stats(w.told[1].m, &stats);
	assert_int_equal(stats.foreign_labels, 0);
	/* RFC 4456 10: next_hop_self leaves the next hop of a reflected route, so the label stays */
	announce(&w, CLIENT, HOP_V4, NLRI_2, ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	expect_update(&w, 2, HOP_V4, NLRI_2,
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 "8009040a000066"
						       "800a0401020304" TARGET);
	/* the rules change: the route goes and comes */
	rules = *update_group_rules_of(w.told[1].m);
	rules.next_hop_unchanged = false;
	update_group_rules(w.told[1].m, &rules);
	drain(&w);
	len = update_message(octets, V4, NULL,
		"70"
		"800000" SITE_1 "0a0100",
		"");
	len += update_message(octets + len, V4, NULL,
		"70"
		"800000" SITE_2 "0a0100",
		"");
	expect_octets(&w.told[1], octets, len, __LINE__); /* in batches by source */
	rules.next_hop_unchanged = true;
	update_group_rules(w.told[1].m, &rules);
	drain(&w);
	assert_int_equal(update_group_advertised(w.told[1].m), 2);
	end(&w);
}

/* Import policy keeps the label with its next hop; export policy must not give the label another next hop. */
static void
test_policy_next_hop(void **state)
{
	struct policy_set *set = policies_compile(
		json_pack("{s:[{s:s,s:[{s:i,s:s,s:{},s:{s:s}}]},{s:s,s:[{s:i,s:s,s:{},s:{s:s}}]}]}",
			"route_policies", "name", "other", "nodes", "seq", 10, "action", "permit",
			"match", "set", "next_hop", "192.0.2.77",
			/**/ "name", "same", "nodes", "seq", 10, "action", "permit", "match", "set",
			"next_hop", "192.0.2.9"));
	struct world w;

	begin(&w, V4);
	for (unsigned m = 0; m < 2; m++) {
		struct update_member_config c = member_config(&w, m, UPDATE_INTERNAL);

		c.rules.policy = policy_set_find(set, m == 0 ? "other" : "same");
		join_empty(&w, m, &c);
	}
	announce(&w, SOURCE, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	expect_update(&w, 1, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	end(&w);
	policy_set_free(set);
}

/* Without communities the targets stay: no router could import the route. */
static void
test_send_communities(void **state)
{
	struct update_member_config c;
	struct world w;

	begin(&w, V4);
	c = member_config(&w, 0, UPDATE_INTERNAL);
	c.rules.encode.send_communities = false;
	join_empty(&w, 0, &c);
	announce(&w, SOURCE, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH COMMUNITY TARGET);
	drain(&w);
	expect_update(&w, 0, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	end(&w);
}

/* ---- routes of instances ---- */

#define CE_EXTERNAL 103u
#define CE_INTERNAL 104u

static void
instance_begin(struct world *w)
{
	static const struct vrf_id red = {1};
	struct table_id table;

	assert_int_equal(shard_table_add(w->rig.shard, red, FAMILY_IPV4_UNICAST, &table), 0);
	for (uint16_t p = CE_EXTERNAL; p <= CE_INTERNAL; p++) {
		struct shard_peer k = {.id = {p},
			.addr = addr_from_v4(0x0a0a0a00u + p),
			.vrf = red,
			.external = p == CE_EXTERNAL,
			.multihop = true,
			.asn = p == CE_EXTERNAL ? 65001 : RIG_OWN_ASN};

		assert_int_equal(shard_peer_add(w->rig.shard, &k), 0);
		shard_peer_import(w->rig.shard, k.id, FAMILY_IPV4_UNICAST, policy_accept_all());
		rig_up(&w->rig, p, k.asn, 0x0a000000u + p, k.external);
	}
}

/* The instance exports its routes with this label. */
static void
instance_label(struct world *w, uint32_t label)
{
	const struct ext_community target = {0x0002fc0000000001u};
	struct shard_instance red = {.vrf = {1},
		.rd = {0x0000fc0000000001u},
		.label = label,
		.export_targets = &target,
		.export_count = 1};

	assert_int_equal(shard_instance_set(w->rig.shard, &red), 0);
	rig_settle(&w->rig);
}

static void
instance_announce(struct world *w, uint16_t peer, uint32_t addr)
{
	struct rib_nlri n = {.prefix = prefix_from_v4(addr, 24), .label = RIB_LABEL_NONE};
	uint32_t asn = 65001;
	union rig_attrs a;

	rig_attrs_make(&a, &asn, peer == CE_EXTERNAL, 0x0a0a0a00u + peer);
	rig_update_in(&w->rig, FAMILY_IPV4_UNICAST, peer, &a.a, &n, 1, w->rig.now_ns);
	rig_settle(&w->rig);
}

/* RFC 4364 4.3: our label, and so our next hop, whatever the session to the site. */
static void
test_instance(void **state)
{
	uint8_t octets[2 * BGP_MSG_MAX];
	struct world w;
	size_t len;

	begin(&w, V4);
	instance_begin(&w);
	instance_label(&w, 16);
	join_kind(&w, 0, UPDATE_INTERNAL);
	join_kind(&w, 1, UPDATE_EXTERNAL);
	instance_announce(&w, CE_EXTERNAL, 0x0a010000);
	drain(&w);
	expect_update(&w, 0, RD_ZERO "c0000201", NLRI_1,
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	expect_update(&w, 1, RD_ZERO "c0000202", NLRI_1, ORIGIN_IGP_ATTR PREPENDED TARGET);
	/* a site with an internal session: we originate the VPN route, and reflect nothing */
	instance_announce(&w, CE_INTERNAL, 0x0a020000);
	drain(&w);
	expect_update(&w, 0, RD_ZERO "c0000201",
		"70"
		"000101" SITE_1 "0a0200",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	instance_label(&w, 17);
	drain(&w);
	len = update_message(octets, V4, RD_ZERO "c0000201",
		"70"
		"000111" SITE_1 "0a0100",
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	len += update_message(octets + len, V4, RD_ZERO "c0000201",
		"70"
		"000111" SITE_1 "0a0200",
		ORIGIN_IGP_ATTR NO_PATH LOCAL_PREF_100 TARGET);
	expect_octets(&w.told[0], octets, len, __LINE__);
	assert_int_equal(shard_instance_remove(w.rig.shard, (struct vrf_id){1}), 0);
	rig_settle(&w.rig);
	drain(&w);
	assert_int_equal(update_group_advertised(w.told[0].m), 0);
	end(&w);
}

/* ---- refresh ---- */

/* BoRR and EoRR of the family, and between them all routes with their present labels. */
static void
test_refresh(void **state)
{
	uint8_t octets[BGP_MSG_MAX];
	struct world w;
	size_t len;

	begin(&w, V4);
	join_kind(&w, 0, UPDATE_INTERNAL);
	announce(&w, SOURCE, HOP_V4, NLRI_1 NLRI_2, ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	update_group_refresh(w.told[0].m, true);
	drain(&w);
	len = bgp_refresh_encode(V4, REFRESH_BEGIN, octets, sizeof(octets));
	len += update_message(octets + len, V4, HOP_V4, NLRI_1 NLRI_2,
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	len += bgp_refresh_encode(V4, REFRESH_END, octets + len, sizeof(octets) - len);
	expect_octets(&w.told[0], octets, len, __LINE__);
	end(&w);
}

/* ---- previews ---- */

static const struct update_member *
member_of(void *ctx, struct peer_id peer, enum family family)
{
	const struct world *w = ctx;

	return w->told[peer.v - 1].m;
}

/* The counts for member 0 under another configuration. */
static struct preview_counts
preview(struct world *w, const struct config_family *then, const struct policy *policy)
{
	struct shards shards;
	struct export_preview_config c = {.arena = w->rig.arena,
		.shards = &shards,
		.records = w->records,
		.swaps = w->swaps,
		.family = w->family,
		.member = member_of,
		.ctx = w};
	static struct config_peer next;
	struct preview_counts counts;
	struct shards_table t;
	struct export_preview *e;
	int err;

	shards_init(&shards, &w->rig.shard, 1);
	shards_table(&shards, w->rig.table, &t);
	next.families[w->family] = *then;
	qsbr_online(w->rig.readers, w->reader);
	assert_int_equal(export_preview_create(&c, &e), 0);
	assert_int_equal(export_preview_peer(e, (struct peer_id){1}, &next, CLUSTER, policy), 0);
	(void)export_preview_run(e, 0, shards_limit(&t), UINT64_MAX, &err);
	assert_int_equal(err, 0);
	assert_int_equal(export_preview_default(e), 0);
	export_preview_counts(e, (struct peer_id){1}, &counts);
	export_preview_destroy(e);
	qsbr_offline(w->rig.readers, w->reader);
	return counts;
}

#define expect_counts(got, add, remove, change)                                                    \
	do {                                                                                       \
		struct preview_counts c_ = got;                                                    \
		assert_int_equal(c_.added, add);                                                   \
		assert_int_equal(c_.removed, remove);                                              \
		assert_int_equal(c_.changed, change);                                              \
	} while (0)

/* Each distinguisher has a default route of its own; a preview of new rules follows the labels. */
static void
test_preview(void **state)
{
	struct config_family kept = {.next_hop_unchanged = true}, own = {0};
	struct update_member_config c;
	struct world w;

	begin(&w, V4);
	c = member_config(&w, 0, UPDATE_EXTERNAL);
	c.rules.next_hop_unchanged = true;
	join_empty(&w, 0, &c);
	announce(&w, SOURCE, HOP_V4,
		NLRI_1 NLRI_2 "58"
			      "000001" SITE_1 "58"
			      "000011" SITE_2,
		ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	assert_int_equal(update_group_advertised(w.told[0].m), 4);
	expect_counts(preview(&w, &kept, policy_accept_all()), 0, 0, 0);
	expect_counts(preview(&w, &kept, policy_deny_all()), 0, 4, 0);
	expect_counts(preview(&w, &own, policy_accept_all()), 0, 4, 0);
	/* the stream has not sent the new label yet */
	announce(&w, SOURCE, HOP_V4,
		"58"
		"000021" SITE_2,
		ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	expect_counts(preview(&w, &kept, policy_accept_all()), 0, 0, 1);
	end(&w);
}

/* ---- labels of ours (RFC 4364 10 b) ---- */

#define OWN_HOP(i) RD_ZERO "c000020" #i /* of member i - 1 */
#define NLRI(label, rest) "70" label SITE_1 rest

/* The fib thread answers all orders, with this result for new labels. Returns the number of orders. */
static unsigned
install(struct world *w, int result)
{
	struct swap_order order[8];
	unsigned n, count = 0;

	while ((n = swaps_orders(w->swaps, order, 8)) > 0) {
		for (unsigned i = 0; i < n; i++)
			order[i].result = order[i].present ? result : 0;
		swaps_answer(w->swaps, order, n);
		count += n;
	}
	return count;
}

/* A step of the clock, in seconds. True: routes are evaluated again. */
static bool
tidy(struct world *w, uint64_t s)
{
	bool again = swaps_tidy(w->swaps, s * 1000000000, update_groups_passed_ns(w->groups));

	if (again)
		update_groups_relabel(w->groups);
	return again;
}

static struct swaps_figures
figures(const struct world *w)
{
	struct swaps_figures f;

	swaps_figures(w->swaps, &f);
	return f;
}

/*
 * Our next hop has a label of ours: one for each pair of next hop and label, sent when the label is installed. A reflected route keeps its label. The label
 * stays with the pair while a route has it.
 */
static void
test_swapped(void **state)
{
	struct update_group_stats stats;
	struct update_member_config c;
	struct world w;

	begin_swapping(&w, V4, 8);
	join_kind(&w, 0, UPDATE_EXTERNAL);
	join_kind(&w, 1, UPDATE_CLIENT);
	c = member_config(&w, 2, UPDATE_INTERNAL);
	c.rules.next_hop_self = true;
	join_empty(&w, 2, &c);
	announce(&w, SOURCE, HOP_V4, NLRI("000101", "0a0100") NLRI("000101", "0a0200"),
		ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0); /* the label is not installed */
	expect_nothing(&w, 2);
	expect_update(&w, 1, HOP_V4, NLRI("000101", "0a0100") NLRI("000101", "0a0200"),
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	assert_false(update_member_pending(w.told[0].m)); /* no turn without an answer */
	assert_int_equal(install(&w, 0), 1);
	drain(&w);
	expect_update(&w, 0, OWN_HOP(1), NLRI("000641", "0a0100") NLRI("000641", "0a0200"),
		ORIGIN_IGP_ATTR PREPENDED TARGET);
	expect_update(&w, 2, OWN_HOP(3), NLRI("000641", "0a0100") NLRI("000641", "0a0200"),
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	update_group_stats(w.told[0].m, &stats);
	assert_int_equal(stats.foreign_labels + stats.no_labels, 0);
	/* another label of the edge: another label of ours; withdrawals have none */
	announce(
		&w, SOURCE, HOP_V4, NLRI("000201", "0a0200"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	assert_int_equal(install(&w, 0), 1);
	drain(&w);
	expect_update(
		&w, 0, OWN_HOP(1), NLRI("000651", "0a0200"), ORIGIN_IGP_ATTR PREPENDED TARGET);
	/* the label of an edge alone decides: another next hop, another label */
	announce(&w, SOURCE, HOP_V4_7, NLRI("000101", "0a0300"),
		ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	assert_int_equal(install(&w, 0), 0);
	drain(&w);
	assert_int_equal(install(&w, 0), 1);
	drain(&w);
	expect_update(
		&w, 0, OWN_HOP(1), NLRI("000661", "0a0300"), ORIGIN_IGP_ATTR PREPENDED TARGET);
	withdraw(&w, SOURCE, NLRI("000000", "0a0100") NLRI("000000", "0a0300"));
	drain(&w);
	expect_withdrawal(&w, 0, NLRI("800000", "0a0100") NLRI("800000", "0a0300"));
	assert_int_equal(figures(&w).in_use, 3);
	assert_int_equal(figures(&w).resting, 2);
	/* a refresh sends the label again */
	update_group_refresh(w.told[2].m, false);
	drain(&w);
	expect_update(&w, 2, OWN_HOP(3), NLRI("000651", "0a0200"),
		ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	end(&w);
}

/* ---- who is due ---- */

static uint64_t due; /* bits by peer */

static void
is_due(void *ctx, struct peer_id id)
{
	(void)ctx;
	due |= UINT64_C(1) << id.v;
}

/* A turn of the thread at `now_ns`: the peers that are due. */
static uint64_t
news(struct world *w, uint64_t now_ns)
{
	due = 0;
	qsbr_online(w->rig.readers, w->reader);
	update_groups_gather(w->groups, now_ns, false);
	update_groups_news(w->groups, is_due, NULL);
	qsbr_offline(w->rig.readers, w->reader);
	return due;
}

static bool
has_passed(const struct world *w, unsigned i)
{
	return group_position(w->told[i].m->group) == journal_head(shard_journal(w->rig.shard));
}

/* Member 0 has the VPN table, member 1 the IPv4 table. */
static void
begin_with_ipv4(struct world *w)
{
	struct update_member_config c;

	begin(w, V4);
	join_kind(w, 0, UPDATE_EXTERNAL);
	c = member_config(w, 1, UPDATE_EXTERNAL);
	c.rules.family = FAMILY_IPV4_UNICAST;
	assert_int_equal(
		shard_table_find(w->rig.shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &c.rules.table),
		0);
	join(w, 1, &c);
	drain(w);
	(void)news(w, 1000);
}

static void
originate(struct world *w, uint32_t addr)
{
	struct prefix p = prefix_from_v4(addr, 24);
	union rig_attrs a;

	rig_attrs_make(&a, path_65001, 0, 0xc0000209);
	group_rig_say(&w->rig, 0, &p, &a.a);
	rig_settle(&w->rig);
}

/* A change makes the members of its table due; the groups of other tables pass the entry later. */
static void
test_news(void **state)
{
	struct journal *j;
	struct world w;
	uint64_t at;

	(void)state;
	begin_with_ipv4(&w);
	j = shard_journal(w.rig.shard);
	assert_int_equal(news(&w, 1000), 0);
	originate(&w, 0x0a010000);
	assert_int_equal(news(&w, 2000), 1 << 2);
	assert_int_equal(news(&w, 2000), 0); /* once for an entry */
	assert_false(has_passed(&w, 0));
	assert_false(update_member_pending(w.told[0].m));
	assert_true(update_member_pending(w.told[1].m));
	at = update_groups_pass_ns(w.groups);
	assert_true(at > 2000);
	assert_int_equal(news(&w, at - 1), 0);
	assert_false(has_passed(&w, 0));
	assert_false(news(&w, at) & 1 << 1);
	assert_true(has_passed(&w, 0));
	assert_false(has_passed(&w, 1)); /* its own entry is read */
	assert_int_equal(update_groups_pass_ns(w.groups), 0);
	drain(&w);
	assert_true(has_passed(&w, 1));
	expect_nothing(&w, 0);
	/* the other way round; a shard that waits for readers makes the pass due at once */
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	journal_wait(j, 0, true);
	assert_int_equal(news(&w, at), 1 << 1);
	journal_wait(j, 0, false);
	assert_true(has_passed(&w, 1));
	drain(&w);
	end(&w);
}

/* Entries behind the last whole run of input are news again when the run is whole. */
static void
test_news_of_a_part(void **state)
{
	struct world w;
	uint64_t whole;

	(void)state;
	begin_with_ipv4(&w);
	whole = journal_head(shard_journal(w.rig.shard));
	originate(&w, 0x0a010000);
	update_groups_whole(w.groups, whole + 1);
	originate(&w, 0x0a020000);
	assert_int_equal(news(&w, 2000), 1 << 2);
	assert_int_equal(news(&w, 2000), 0);
	update_groups_whole(w.groups, UINT64_MAX);
	assert_int_equal(news(&w, 2000), 1 << 2);
	assert_int_equal(news(&w, 2000), 0);
	/* an entry behind the run is news at once, because live changes do not wait for the run */
	update_groups_whole(w.groups, whole + 2);
	originate(&w, 0x0a030000);
	assert_int_equal(news(&w, 2000), 1 << 2);
	update_groups_whole(w.groups, UINT64_MAX);
	drain(&w);
	end(&w);
}

/* A group that walks is due when it passes the entries of other tables: the end of a walk may wait for them. */
static void
test_news_for_a_walk(void **state)
{
	struct update_turn t = {.others = true};
	struct world w;

	(void)state;
	begin_with_ipv4(&w);
	t.table = w.rig.table;
	due = 0;
	update_groups_others(w.groups, &t, is_due, NULL);
	assert_int_equal(due, 1 << 1);
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	update_group_refresh(w.told[0].m, true);
	qsbr_online(w.rig.readers, w.reader);
	assert_true(stream_produce(w.told[0].m->group, UINT64_MAX)); /* the walk begins */
	qsbr_offline(w.rig.readers, w.reader);
	(void)news(&w, 2000);
	originate(&w, 0x0a010000);
	assert_int_equal(news(&w, 3000), 1 << 2);
	assert_true(news(&w, update_groups_pass_ns(w.groups)) & 1 << 1);
	drain(&w);
	end(&w);
}

/* A label rests for 60 s after its withdrawal left all streams; a route that comes back has its label again. */
static void
test_label_rests(void **state)
{
	struct world w;

	begin_swapping(&w, V4, 2);
	join_kind(&w, 0, UPDATE_EXTERNAL);
	join_kind(&w, 1, UPDATE_EXTERNAL);
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	install(&w, 0);
	drain(&w);
	assert_false(tidy(&w, 1));
	assert_int_equal(figures(&w).resting, 0);
	withdraw(&w, SOURCE, NLRI("000000", "0a0100"));
	/* member 0 sends the withdrawal, member 1 does not yet */
	update_groups_gather(w.groups, UINT64_C(2000000000), false);
	qsbr_online(w.rig.readers, w.reader);
	{
		uint8_t buf[BGP_MSG_MAX];
		bool more, others;

		assert_true(turn_send(w.told[0].m, buf, sizeof(buf), UINT64_MAX, &more, &others,
				    on_mark, NULL) > 0);
	}
	qsbr_offline(w.rig.readers, w.reader);
	assert_int_equal(figures(&w).resting, 1);
	for (uint64_t s = 2; s < 200; s++)
		assert_false(tidy(&w, s));
	assert_int_equal(install(&w, 0), 0); /* no label is removed */
	drain(&w);
	expect_withdrawal(&w, 1, NLRI("800000", "0a0100"));
	assert_false(tidy(&w, 200)); /* the rest begins */
	assert_false(tidy(&w, 259));
	assert_int_equal(install(&w, 0), 0);
	/* the route comes back, with its label, and goes */
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_update(
		&w, 0, OWN_HOP(1), NLRI("000641", "0a0100"), ORIGIN_IGP_ATTR PREPENDED TARGET);
	assert_int_equal(install(&w, 0), 0);
	assert_false(tidy(&w, 400));
	withdraw(&w, SOURCE, NLRI("000000", "0a0100"));
	drain(&w);
	for (uint64_t s = 401; s < 462; s++)
		assert_false(tidy(&w, s));
	assert_int_equal(install(&w, 0), 0);
	assert_false(tidy(&w, 462));
	assert_int_equal(install(&w, 0), 1);
	assert_int_equal(figures(&w).in_use, 0);
	/* the next route gets the other label */
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	install(&w, 0);
	drain(&w);
	expect_update(
		&w, 0, OWN_HOP(1), NLRI("000651", "0a0100"), ORIGIN_IGP_ATTR PREPENDED TARGET);
	end(&w);
}

/* Without a free label, or without room in the label table, a route is not advertised; it follows when there is a label. */
static void
test_no_label(void **state)
{
	struct update_group_stats stats;
	struct world w;

	begin_swapping(&w, V4, 1);
	join_kind(&w, 0, UPDATE_EXTERNAL);
	announce(
		&w, SOURCE, HOP_V4, NLRI("000101", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	rig_settle(&w.rig);
	/* a question asks for no label */
	assert_int_equal(refusal(&w, 0), EXPORT_NEXT_HOP);
	assert_int_equal(figures(&w).in_use, 0);
	drain(&w);
	install(&w, 0);
	drain(&w);
	assert_int_equal(refusal(&w, 0), EXPORT_PERMITTED);
	announce(
		&w, SOURCE, HOP_V4, NLRI("000201", "0a0200"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	assert_true(figures(&w).full);
	assert_int_equal(refusal_of(&w, 0, 1), EXPORT_NEXT_HOP);
	update_group_stats(w.told[0].m, &stats);
	assert_int_equal(stats.no_labels, 1);
	/* the only label is advertised for another pair: no reuse, but a withdrawal */
	announce(
		&w, SOURCE, HOP_V4, NLRI("000201", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_withdrawal(&w, 0, NLRI("800000", "0a0100"));
	for (uint64_t s = 1; s < 70; s++)
		assert_false(tidy(&w, s));
	assert_int_equal(install(&w, 0), 1); /* removed */
	assert_true(tidy(&w, 70));
	assert_false(figures(&w).full);
	drain(&w);
	assert_int_equal(install(&w, -ENOSPC), 1);
	/* the label table has no room: the routes are withdrawn before the next try */
	assert_int_equal(figures(&w).failed, 1);
	assert_true(tidy(&w, 71));
	drain(&w);
	assert_int_equal(update_group_advertised(w.told[0].m), 0);
	assert_int_equal(install(&w, 0), 1);
	assert_true(tidy(&w, 72));
	drain(&w);
	expect_update(&w, 0, OWN_HOP(1), NLRI("000641", "0a0100") NLRI("000641", "0a0200"),
		ORIGIN_IGP_ATTR PREPENDED TARGET);
	assert_int_equal(figures(&w).failed, 0);
	end(&w);
}

/* A preview allocates no label: the present label is no change, a new one is. */
static void
test_swapped_preview(void **state)
{
	struct config_family kept = {.next_hop_unchanged = true}, own = {0};
	struct world w;

	begin_swapping(&w, V4, 8);
	join_kind(&w, 0, UPDATE_EXTERNAL);
	announce(&w, SOURCE, HOP_V4, NLRI_1 NLRI_2, ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	install(&w, 0);
	drain(&w);
	assert_int_equal(update_group_advertised(w.told[0].m), 2);
	expect_counts(preview(&w, &own, policy_accept_all()), 0, 0, 0);
	expect_counts(preview(&w, &kept, policy_accept_all()), 0, 0, 2);
	announce(
		&w, SOURCE, HOP_V4, NLRI("000201", "0a0100"), ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	expect_counts(preview(&w, &own, policy_accept_all()), 0, 0, 1);
	assert_int_equal(figures(&w).in_use, 2);
	end(&w);
}

/* ---- route targets that the peer wants (RFC 4684) ---- */

#define WANT(number, length)                                                                       \
	((struct rt_want){.target = UINT64_C(0x0002fc0000000000) + number, .bits = length})

static void
set_filter(struct world *w, unsigned i, struct rt_filter *f)
{
	struct update_rules r = *update_group_rules_of(w->told[i].m);

	r.filter = f;
	update_group_rules(w->told[i].m, &r);
}

/* Equal memberships share a filter and a group; a change sends the differences. A part of a target covers its targets. */
static void
test_memberships(void **state)
{
	const struct rt_want one[] = {WANT(1, 64)}, two[] = {WANT(0, 32), WANT(9, 64)};
	const struct rt_want all[] = {{0}};
	struct rt_filter *list = NULL, *none, *f, *g, *everything;
	struct update_member_config c;
	struct world w;

	begin(&w, V4);
	none = rt_filter_get(w.rig.arena, &list, NULL, 0);
	f = rt_filter_get(w.rig.arena, &list, one, 1);
	g = rt_filter_get(w.rig.arena, &list, two, 2);
	everything = rt_filter_get(w.rig.arena, &list, all, 1);
	assert_ptr_equal(rt_filter_get(w.rig.arena, &list, one, 1), f);
	assert_int_equal(f->refs, 2);
	for (unsigned i = 0; i < 3; i++) {
		c = member_config(&w, i, UPDATE_INTERNAL);
		c.rules.filter = i < 2 ? none : everything;
		join_empty(&w, i, &c);
	}
	assert_true(update_group_shared(w.told[0].m, w.told[1].m));
	announce(&w, SOURCE, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH TARGET);
	drain(&w);
	expect_nothing(&w, 0);
	expect_update(&w, 2, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	assert_int_equal(refusal(&w, 0), EXPORT_MEMBERSHIP);
	assert_int_equal(refusal(&w, 2), EXPORT_PERMITTED);
	for (unsigned i = 0; i < 2; i++)
		set_filter(&w, i, f);
	drain(&w);
	for (unsigned i = 0; i < 2; i++)
		expect_update(
			&w, i, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH LOCAL_PREF_100 TARGET);
	assert_true(update_group_shared(w.told[0].m, w.told[1].m));
	for (unsigned i = 0; i < 2; i++)
		set_filter(&w, i, g);
	drain(&w);
	expect_nothing(&w, 0);
	for (unsigned i = 0; i < 2; i++)
		set_filter(&w, i, none);
	drain(&w);
	expect_withdrawal(&w, 0, NLRI("800000", "0a0100"));
	/* a route without targets: for peers without a filter, and those that want all */
	announce(&w, SOURCE, HOP_V4, NLRI_1, ORIGIN_IGP_ATTR EXTERNAL_PATH COMMUNITY);
	drain(&w);
	expect_nothing(&w, 0);
	assert_int_equal(update_group_advertised(w.told[2].m), 1);
	update_groups_filters(w.groups);
	assert_true(none->marked && everything->marked && !f->marked && !g->marked);
	for (struct rt_filter *next; list != NULL; list = next) {
		next = list->next;
		arena_free(w.rig.arena, list); /* no route is evaluated any more */
	}
	end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reflected),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_next_hops_kept),
		cmocka_unit_test(test_next_hops_own),
		cmocka_unit_test(test_replaced_labels),
		cmocka_unit_test(test_foreign_labels),
		cmocka_unit_test(test_policy_next_hop),
		cmocka_unit_test(test_send_communities),
		cmocka_unit_test(test_instance),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_preview),
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_memberships),
		cmocka_unit_test(test_label_rests),
		cmocka_unit_test(test_no_label),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_news_of_a_part),
		cmocka_unit_test(test_news_for_a_walk),
		cmocka_unit_test(test_swapped_preview),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
