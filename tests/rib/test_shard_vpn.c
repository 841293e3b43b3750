/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VPN tables of a shard: destinations keyed by (distinguisher, prefix), paths with labels. A random
 * test compares one and two shards, and a follower of the journal, with an array.
 */
#include "tests/lpm/one_thread.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>

#define VPN FAMILY_VPNV4_UNICAST

#ifdef KEEL_SANITIZED
#define STEPS 3000u
#else
#define STEPS 20000u
#endif

static struct rib_nlri
vpn_nlri(uint64_t rd, uint32_t addr, uint8_t len, uint32_t label)
{
	return (struct rib_nlri){.prefix = prefix_from_v4(addr, len), .rd = {rd}, .label = label};
}

static void
vpn_rig(struct rig *r, bool tracking)
{
	struct table_id unicast;

	rig_mode = RIG_V4;
	rig_init(r, tracking);
	unicast = r->table;
	assert_int_equal(shard_table_add(r->shard, VRF_DEFAULT, VPN, &r->table), 0);
	assert_int_not_equal(unicast.v, r->table.v);
}

/* False: no path. */
static bool
vpn_view(const struct rig *r, const struct rib_nlri *n, struct dest_view *v)
{
	struct dest_table *t = shard_table(r->shard, r->table);
	struct dest_id id = dest_find_rd(t, n->rd, &n->prefix);

	return id.v != DEST_NONE && dest_peek(t, id, v) && v->paths != NULL;
}

static void
vpn_update(struct rig *r, uint16_t peer, const struct attr_set *attrs, const struct rib_nlri *n)
{
	rig_update_in(r, VPN, peer, attrs, n, 1, r->now_ns);
	rig_settle(r);
}

static void
assert_path(const struct rig *r, const struct rib_nlri *n, unsigned count)
{
	struct dest_view v;

	if (count == 0) {
		assert_false(vpn_view(r, n, &v));
		return;
	}
	assert_true(vpn_view(r, n, &v));
	assert_int_equal(v.rd.v, n->rd.v);
	assert_true(prefix_equal(&v.prefix, &n->prefix));
	assert_int_equal(v.paths->count, count);
	assert_int_equal(v.paths->path[0].label_flags >> 12, n->label);
}

/* Enough turns for all grace periods. */
static void
settle_often(struct rig *r)
{
	for (unsigned i = 0; i < 8; i++)
		rig_settle(r);
}

/* Two distinguishers with one prefix are two routes. The unicast table stays empty. */
static void
two_distinguishers(void **state)
{
	struct rib_nlri a = vpn_nlri(1, 0x0a010000, 16, 100), b = vpn_nlri(2, 0x0a010000, 16, 200);
	union rig_attrs attrs;
	struct table_id unicast;
	struct rig r;

	vpn_rig(&r, false);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 1, false);
	rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
	vpn_update(&r, 1, &attrs.a, &a);
	assert_path(&r, &a, 1);
	assert_path(&r, &b, 0);
	vpn_update(&r, 1, &attrs.a, &b);
	assert_path(&r, &a, 1);
	assert_path(&r, &b, 1);
	assert_int_equal(shard_table_find(r.shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &unicast), 0);
	assert_int_equal(dest_count(shard_table(r.shard, unicast)), 0);
	vpn_update(&r, 1, NULL, &a);
	assert_path(&r, &a, 0);
	assert_path(&r, &b, 1);
	assert_int_equal(shard_failures(r.shard), 0);
	rig_fini(&r);
}

/* A new label alone changes the path and makes a journal entry. An equal label makes no entry. */
static void
a_new_label_alone(void **state)
{
	struct rib_nlri n = vpn_nlri(1, 0x0a010000, 16, 100);
	struct journal_entry e;
	struct journal_cursor *c;
	union rig_attrs attrs;
	struct journal *j;
	struct rig r;

	vpn_rig(&r, false);
	j = shard_journal(r.shard);
	assert_int_equal(journal_subscribe(j, &c), 0);
	for (uint16_t peer = 1; peer <= 2; peer++) {
		rig_peer(&r, peer, RIG_OWN_ASN, false, false);
		rig_up(&r, peer, RIG_OWN_ASN, peer, false);
	}
	rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
	for (uint16_t peer = 1; peer <= 2; peer++) {
		vpn_update(&r, peer, &attrs.a, &n);
		journal_advance(j, c, journal_head(j));
	}
	assert_path(&r, &n, 2);
	vpn_update(&r, 1, &attrs.a, &n);
	assert_int_equal(journal_read(j, c, &e, 1), 0);
	n.label = 101;
	vpn_update(&r, 1, &attrs.a, &n);
	assert_path(&r, &n, 2);
	assert_int_equal(journal_read(j, c, &e, 1), 1);
	assert_int_equal(e.table.v, r.table.v);
	assert_false(e.aside); /* the best path has another label */
	journal_advance(j, c, journal_head(j));
	/* no label differs from the label 0 */
	n.label = 0;
	vpn_update(&r, 1, &attrs.a, &n);
	assert_path(&r, &n, 2);
	n.label = RIB_LABEL_NONE;
	vpn_update(&r, 1, &attrs.a, &n);
	assert_path(&r, &n, 2);
	assert_int_equal(journal_head(j) - journal_position(c), 2);
	journal_unsubscribe(j, c);
	rig_fini(&r);
}

/* Next hops of VPN paths resolve in `default`. */
static void
next_hops_in_default(void **state)
{
	struct rib_nlri n = vpn_nlri(1, 0x0a010000, 16, 100);
	struct nexthop_message up = {
		.vrf = VRF_DEFAULT, .up = true, .addr = addr_from_v4(0x0a000001)};
	union rig_attrs attrs;
	struct dest_view v;
	struct rig r;

	vpn_rig(&r, true);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 1, false);
	rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
	vpn_update(&r, 1, &attrs.a, &n);
	assert_true(vpn_view(&r, &n, &v));
	assert_int_equal(v.paths->eligible, 0);
	shard_next_hop(r.shard, &up);
	rig_settle(&r);
	assert_true(vpn_view(&r, &n, &v));
	assert_int_equal(v.paths->eligible, 1);
	assert_int_equal(v.paths->path[0].label_flags >> 12, 100);
	up.up = false;
	shard_next_hop(r.shard, &up);
	rig_settle(&r);
	assert_true(vpn_view(&r, &n, &v));
	assert_int_equal(v.paths->eligible, 0);
	assert_int_equal(v.paths->path[0].label_flags >> 12, 100);
	rig_fini(&r);
}

/* keep_all_routes: a replay keeps the label, also of a refused path. */
static void
a_replay_keeps_the_label(void **state)
{
	struct rib_nlri n = vpn_nlri(1, 0x0a010000, 16, 100);
	const struct peer_id peer = {1};
	union rig_attrs attrs;
	struct dest_view v;
	struct rig r;

	vpn_rig(&r, false);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	shard_peer_keep(r.shard, peer, VPN, true);
	rig_up(&r, 1, RIG_OWN_ASN, 1, false);
	rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
	vpn_update(&r, 1, &attrs.a, &n);
	for (unsigned i = 0; i < 4; i++) {
		shard_peer_import(
			r.shard, peer, VPN, i % 2 == 0 ? policy_deny_all() : policy_accept_all());
		(void)shard_peer_replay(r.shard, peer, VPN);
		rig_settle(&r);
		assert_path(&r, &n, 1);
		assert_true(vpn_view(&r, &n, &v));
		assert_int_equal(v.paths->eligible, i % 2);
	}
	rig_fini(&r);
}

/* The ring of refusals stores the distinguisher. */
static void
refusals_by_distinguisher(void **state)
{
	struct rib_nlri n = vpn_nlri(7, 0x0a010000, 16, 100);
	struct refused_route found[2];
	union rig_attrs attrs;
	struct rig r;

	vpn_rig(&r, false);
	role_enter_main();
	rig_peer(&r, 1, 65001, true, false); /* RFC 8212: no policy */
	rig_up(&r, 1, 65001, 1, true);
	rig_attrs_make(&attrs, path_65001, 2, 0x0a000001);
	vpn_update(&r, 1, &attrs.a, &n);
	assert_path(&r, &n, 0);
	assert_int_equal(shard_refused_find(r.shard, VPN, n.rd, &n.prefix, found, 2), 1);
	assert_int_equal(found[0].cause, REFUSED_NO_POLICY);
	assert_int_equal(
		shard_refused_find(r.shard, VPN, (struct vpn_rd){8}, &n.prefix, found, 2), 0);
	rig_fini(&r);
}

/* A record with distinguishers for a unicast table, or without for a VPN table, is invalid. */
static void
forms_of_other_families(void **state)
{
	struct rib_nlri n = vpn_nlri(7, 0x0a010000, 16, 100);
	static const struct {
		enum family family;
		unsigned form;
	} wrong[] = {
		{FAMILY_IPV4_UNICAST, RIB_NLRI_RD},
		{VPN, RIB_NLRI_LABEL},
	};
	struct rig r;

	vpn_rig(&r, false);
	rig_peer(&r, 1, RIG_OWN_ASN, false, false);
	rig_up(&r, 1, RIG_OWN_ASN, 1, false);
	rig_settle(&r);
	for (unsigned i = 0; i < 2; i++) {
		struct rib_record head = {.kind = RIB_UPDATE,
			.family = (uint8_t)wrong[i].family,
			.peer = {1},
			.nlri_count = 1,
			.nlri_form = (uint8_t)wrong[i].form,
			.nlri_len = rib_nlri_len(&n, wrong[i].form)};

		(void)rib_nlri_write(rig_record(&r, &head, head.nlri_len), &n, wrong[i].form);
		rig_settle(&r);
		assert_int_equal(shard_failures(r.shard), i + 1);
	}
	rig_fini(&r);
}

/*
 * Memory of a VPN route with one path, from UPDATEs of ten prefixes each: with a label for each
 * site, the prefixes share the set; with a label for each prefix, a set has 32 bytes.
 */
static void
labelled_paths_are_packed(void **state)
{
	enum { ROUTES = 20480, EACH = 10 };
	static const size_t limit[] = {48, 80};

	for (unsigned each = 0; each < 2; each++) {
		struct rib_nlri list[EACH];
		union rig_attrs attrs;
		struct dest_table *t;
		struct rig r;
		size_t bytes;

		vpn_rig(&r, false);
		t = shard_table(r.shard, r.table);
		for (uint16_t peer = 1; peer <= 2; peer++) {
			rig_peer(&r, peer, RIG_OWN_ASN, false, false);
			rig_up(&r, peer, RIG_OWN_ASN, peer, false);
		}
		rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
		for (uint16_t peer = 1; peer <= 2; peer++) {
			for (unsigned i = 0; i < ROUTES; i += EACH) {
				for (unsigned k = 0; k < EACH; k++)
					list[k] = vpn_nlri(1 + i % 7, 0x0a000000 + ((i + k) << 8),
						24, each == 0 ? 100 : 100 + i + k);
				rig_update_in(&r, VPN, peer, &attrs.a, list, EACH, r.now_ns);
			}
			settle_often(&r);
			bytes = dest_table_bytes(t) / ROUTES;
			print_message("%u paths, %s: %zu bytes a route\n", peer,
				each == 0 ? "a label for ten" : "a label each", bytes);
			assert_true(bytes <= limit[each] + 16 * (peer - 1u));
		}
		for (unsigned i = 0; i < ROUTES; i++) {
			struct rib_nlri n = vpn_nlri(1 + i / EACH * EACH % 7, 0x0a000000 + (i << 8),
				24, each == 0 ? 100 : 100 + i);

			assert_path(&r, &n, 2);
		}
		rig_fini(&r);
	}
}

/* ---- tables come and go ---- */

static struct rib_nlri
unicast_nlri(void)
{
	return (struct rib_nlri){.prefix = prefix_from_v4(0x0a010000, 16), .label = RIB_LABEL_NONE};
}

static void
originate(struct rig *r, struct vrf_id vrf, bool there)
{
	struct rib_nlri n = unicast_nlri();
	union rig_attrs attrs;

	rig_attrs_make(&attrs, NULL, 0, 0);
	attrs.a.next_hop = (struct ip_addr){0};
	assert_int_equal(shard_originate(r->shard, vrf, FAMILY_IPV4_UNICAST, &n.prefix,
				 there ? &attrs.a : NULL),
		0);
	rig_settle(r);
}

/* The memory of the rig after a first route. */
static size_t
bytes_warm(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		originate(r, VRF_DEFAULT, i % 2 == 0);
	settle_often(r);
	return arena_bytes(r->arena);
}

static void
a_removed_table_waits_for_its_readers(void **state)
{
	const struct vrf_id red = {7}, blue = {8};
	struct rib_nlri n = unicast_nlri();
	struct journal_cursor *c;
	struct table_id was, now;
	struct journal_entry e;
	struct dest_view v;
	enum family family;
	struct vrf_id vrf;
	struct rig r;
	size_t bytes;

	vpn_rig(&r, false);
	(void)bytes_warm(&r);
	assert_int_equal(journal_subscribe(shard_journal(r.shard), &c), 0);
	bytes = arena_bytes(r.arena);
	assert_int_equal(shard_table_remove(r.shard, (struct table_id){2}), -ENOENT);
	assert_int_equal(shard_table_add(r.shard, red, FAMILY_IPV4_UNICAST, &was), 0);
	originate(&r, red, true);
	assert_int_equal(shard_table_remove(r.shard, was), -EBUSY);
	originate(&r, red, false);
	assert_int_equal(shard_table_remove(r.shard, was), 0);
	assert_int_equal(shard_table_remove(r.shard, was), -ENOENT);
	assert_int_equal(shard_table_find(r.shard, red, FAMILY_IPV4_UNICAST, &now), -ENOENT);
	settle_often(&r);
	/* the cursor has not read the entries: both entries lead to the empty destination */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(journal_read(shard_journal(r.shard), c, &e, 1), 1);
		assert_int_equal(e.table.v, was.v);
		shard_table_key(r.shard, e.table, &vrf, &family);
		assert_true(vrf.v == red.v && family == FAMILY_IPV4_UNICAST);
		assert_true(dest_peek(shard_table(r.shard, e.table), e.dest, &v));
		assert_true(prefix_equal(&v.prefix, &n.prefix) && v.paths == NULL);
		/* the name is free at once, the id is not */
		assert_int_equal(
			shard_table_create(r.shard, was, blue, FAMILY_IPV4_UNICAST), -EBUSY);
		assert_int_equal(
			shards_table_unused(&(struct shards){.at = {r.shard}, .count = 1}).v,
			was.v + 1);
		journal_advance(shard_journal(r.shard), c, e.sequence);
		settle_often(&r);
	}
	assert_null(shard_table(r.shard, was));
	shard_table_key(r.shard, was, &vrf, &family);
	assert_int_equal(family, FAMILY_COUNT);
	assert_int_equal(arena_bytes(r.arena), bytes);
	assert_int_equal(shard_table_add(r.shard, blue, FAMILY_IPV4_UNICAST, &now), 0);
	assert_int_equal(now.v, was.v);
	journal_unsubscribe(shard_journal(r.shard), c);
	rig_fini(&r);
}

/* An online reader keeps the memory of a removed table. */
static void
a_removed_table_waits_for_a_grace_period(void **state)
{
	const struct dest_table *seen;
	struct table_id id;
	struct rig r;
	unsigned reader;

	vpn_rig(&r, false);
	assert_int_equal(shard_table_add(r.shard, (struct vrf_id){7}, FAMILY_IPV4_UNICAST, &id), 0);
	assert_int_equal(qsbr_register(r.readers, &reader), 0);
	qsbr_online(r.readers, reader);
	seen = shard_table(r.shard, id);
	assert_int_equal(shard_table_remove(r.shard, id), 0);
	settle_often(&r);
	assert_ptr_equal(shard_table(r.shard, id), seen);
	assert_int_equal(dest_limit(seen), 0);
	qsbr_quiescent(r.readers, reader);
	settle_often(&r);
	assert_null(shard_table(r.shard, id));
	/* the second period: the reader may have found the table just before the id became free */
	assert_int_equal(dest_limit(seen), 0);
	qsbr_offline(r.readers, reader);
	qsbr_unregister(r.readers, reader);
	settle_often(&r);
	rig_fini(&r);
}

/* The memory of a shard is in proportion to the tables, and shard_table_find() finds every table. */
static void
two_thousand_tables(void **state)
{
	enum { INSTANCES = 1000 };
	struct table_id id, found;
	struct rig r;
	size_t bytes;

	vpn_rig(&r, false);
	bytes = bytes_warm(&r);
	for (unsigned round = 0; round < 2; round++) {
		for (uint16_t i = 1; i <= INSTANCES; i++)
			for (enum family f = 0; f <= FAMILY_IPV6_UNICAST; f++) {
				struct vrf_id vrf = {i};

				assert_int_equal(shard_table_add(r.shard, vrf, f, &id), 0);
				assert_int_equal(id.v, 2 * i + f);
				assert_int_equal(shard_table_find(r.shard, vrf, f, &found), 0);
				assert_int_equal(found.v, id.v);
			}
		for (uint16_t i = 1; i <= INSTANCES; i++)
			originate(&r, (struct vrf_id){i}, true);
		settle_often(&r);
		print_message(
			"%zu bytes a table\n", (arena_bytes(r.arena) - bytes) / (2 * INSTANCES));
		assert_true(arena_bytes(r.arena) - bytes < 2 * INSTANCES * 8192ul);
		for (uint16_t i = 1; i <= INSTANCES; i++)
			originate(&r, (struct vrf_id){i}, false);
		for (uint16_t i = 2; i < 2 + 2 * INSTANCES; i++)
			assert_int_equal(shard_table_remove(r.shard, (struct table_id){i}), 0);
		settle_often(&r);
		assert_true(arena_bytes(r.arena) < bytes + 4096);
	}
	assert_int_equal(shard_table_create(r.shard, (struct table_id){SHARD_TABLES_MAX},
				 (struct vrf_id){1}, FAMILY_IPV4_UNICAST),
		-EINVAL);
	assert_int_equal(shard_table_create(r.shard, (struct table_id){9},
				 (struct vrf_id){SHARD_VRFS_MAX}, FAMILY_IPV4_UNICAST),
		-EINVAL);
	rig_fini(&r);
}

/* ---- against an array ---- */

#define RDS 6u
#define PREFIXES 24u
#define KEYS (RDS * PREFIXES)
#define PEERS 6u
#define SOURCES (2 * PEERS) /* two path identifiers (RFC 7911) a peer, for sets of many paths */
#define VALUES 4u
#define LABELS 3u

struct offer {
	uint32_t value, label; /* value 0: none */
	bool stale;
};

struct world {
	struct rig rig[2];
	struct shards shards;
	unsigned count;
	uint64_t random;
	struct table_id table;
	struct offer offer[KEYS][SOURCES];
	bool refreshing[PEERS];
	/* the follower: source + 1 of the path in use; 0: none */
	struct journal_cursor *cursor;
	struct offer follows[KEYS];
	unsigned follows_source[KEYS];
	unsigned entries;
};

static struct rib_nlri
key_nlri(unsigned key)
{
	unsigned i = key / RDS;

	/* half of the prefixes cover longer prefixes */
	return (struct rib_nlri){
		.prefix = prefix_from_v4(0x0a000000 | (i / 2) << 20, i % 2 ? 12 : 16),
		.rd = {(uint64_t)(key % RDS) << 47},
		.label = RIB_LABEL_NONE};
}

static uint32_t
label_of(uint32_t i)
{
	return i == 0 ? RIB_LABEL_NONE : i == 1 ? 0 : 99999 + i;
}

static struct rig *
world_rig(struct world *w, const struct prefix *p)
{
	return &w->rig[shards_of(&w->shards, SHARDS_BY_SITE, p)];
}

static void
world_begin(struct world *w, unsigned count, uint64_t seed)
{
	*w = (struct world){.count = count, .random = seed};
	rig_mode = RIG_V4;
	rigs_init(w->rig, count, false, 1u << 16, &w->shards);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(shard_table_add(w->rig[i].shard, VRF_DEFAULT, VPN, &w->table), 0);
		for (uint16_t p = 1; p <= PEERS; p++) {
			rig_peer(&w->rig[i], p, RIG_OWN_ASN, false, false);
			rig_up(&w->rig[i], p, RIG_OWN_ASN, p, false);
		}
	}
	assert_int_equal(journal_subscribe(shard_journal(w->rig[0].shard), &w->cursor), 0);
}

/* A few prefixes with equal attributes, in the record of each shard. */
static void
step_update(struct world *w)
{
	unsigned count = 1 + random_below(&w->random, 8), peer = random_below(&w->random, PEERS);
	uint32_t value = random_below(&w->random, VALUES), label = random_below(&w->random, LABELS);
	bool one_label = random_below(&w->random, 2) == 0;
	union rig_attrs attrs;

	rig_attrs_make(&attrs, NULL, 0, 0x0a000001);
	attrs.a.local_pref = value;
	attrs.a.has |= ATTR_HAS_LOCAL_PREF;
	for (unsigned shard = 0; shard < w->count; shard++) {
		uint64_t random = w->random;
		struct rib_nlri list[8];
		unsigned n = 0;

		for (unsigned i = 0; i < count; i++) {
			unsigned key = random_below(&random, KEYS), id = random_below(&random, 2);
			unsigned of = one_label ? label : random_below(&random, LABELS);
			struct offer *o = &w->offer[key][2 * peer + id];
			struct rib_nlri nlri = key_nlri(key);

			if (world_rig(w, &nlri.prefix) != &w->rig[shard])
				continue;
			nlri.path_id = id;
			nlri.label = label_of(of);
			*o = (struct offer){.value = value, .label = nlri.label};
			list[n++] = nlri;
		}
		if (n > 0)
			rig_update_in(&w->rig[shard], VPN, (uint16_t)(peer + 1),
				value > 0 ? &attrs.a : NULL, list, n, w->rig[shard].now_ns);
	}
	for (unsigned i = 0; i < 3 * count; i++)
		(void)random_next(&w->random);
}

static void
event_all(struct world *w, enum rib_record_kind kind, unsigned peer)
{
	struct rib_record head = {
		.kind = (uint8_t)kind, .family = VPN, .peer = {(uint16_t)(peer + 1)}};

	for (unsigned i = 0; i < w->count; i++) {
		struct rib_record one = head;

		(void)rig_record(&w->rig[i], &one, 0);
	}
}

/* BoRR, or EoRR: a sweep drops the stale paths. */
static void
step_refresh(struct world *w)
{
	unsigned peer = random_below(&w->random, PEERS);

	event_all(w, w->refreshing[peer] ? RIB_END_REFRESH : RIB_BEGIN_REFRESH, peer);
	for (unsigned key = 0; key < KEYS; key++)
		for (unsigned id = 0; id < 2; id++) {
			struct offer *o = &w->offer[key][2 * peer + id];

			if (w->refreshing[peer] && o->stale)
				o->value = 0;
			o->stale = !w->refreshing[peer];
		}
	w->refreshing[peer] = !w->refreshing[peer];
}

static void
step_restart(struct world *w)
{
	unsigned peer = random_below(&w->random, PEERS);

	event_all(w, RIB_SESSION_DOWN, peer);
	for (unsigned i = 0; i < w->count; i++)
		rig_up(&w->rig[i], (uint16_t)(peer + 1), RIG_OWN_ASN, peer + 1, false);
	for (unsigned key = 0; key < KEYS; key++)
		w->offer[key][2 * peer].value = w->offer[key][2 * peer + 1].value = 0;
	w->refreshing[peer] = false;
}

static unsigned
key_of_view(const struct dest_view *v)
{
	uint32_t addr = prefix_v4(&v->prefix);
	unsigned i = 2 * (addr >> 20 & 0xf) + (v->prefix.len == 12);

	return i * RDS + (unsigned)(v->rd.v >> 47);
}

static struct offer
offer_of(const struct world *w, const struct rib_path *p, unsigned shard)
{
	return (struct offer){
		.value = attr_of(shard_attrs(w->rig[shard].shard), p->accepted)->local_pref,
		.label = p->label_flags >> 12};
}

static unsigned
source_of(const struct rib_path *p)
{
	return 2 * (p->peer.v - 1u) + p->path_id;
}

static void
follow(struct world *w)
{
	struct journal *j = shard_journal(w->rig[0].shard);
	struct journal_entry e[64];
	int n;

	while ((n = journal_read(j, w->cursor, e, 64)) > 0) {
		for (int i = 0; i < n; i++) {
			struct dest_view v;
			unsigned key;

			if (e[i].table.v != w->table.v ||
				!dest_peek(shard_table(w->rig[e[i].shard].shard, w->table),
					e[i].dest, &v))
				continue;
			key = key_of_view(&v);
			w->entries++;
			if (v.paths != NULL && v.paths->eligible > 0) {
				w->follows[key] = offer_of(w, &v.paths->path[0], e[i].shard);
				w->follows_source[key] = source_of(&v.paths->path[0]) + 1;
			} else if (journal_may_withdraw(w->cursor, &e[i], &v)) {
				w->follows_source[key] = 0;
			}
		}
		journal_advance(j, w->cursor, e[n - 1].sequence);
	}
	assert_int_equal(n, 0);
}

static void
check_key(struct world *w, unsigned key)
{
	static union {
		struct path_set set;
		uint8_t room[sizeof(struct path_set) + SOURCES * sizeof(struct rib_path)];
	} room;
	struct rib_nlri n = key_nlri(key);
	struct rig *r = world_rig(w, &n.prefix);
	struct dest_table *t = shard_table(r->shard, w->table);
	struct dest_id id = dest_find_rd(t, n.rd, &n.prefix);
	unsigned shard = (unsigned)(r - w->rig), offers = 0;
	uint32_t best = 0;
	struct dest_view v = {.paths = NULL};

	if (id.v != DEST_NONE)
		assert_true(dest_peek_all(t, id, &v, &room.set, SOURCES));
	for (unsigned i = 0; i < SOURCES; i++) {
		offers += w->offer[key][i].value > 0;
		best = w->offer[key][i].value > best ? w->offer[key][i].value : best;
	}
	assert_int_equal(v.paths != NULL ? v.paths->count : 0, offers);
	assert_int_equal(w->follows_source[key] > 0, offers > 0);
	if (offers == 0)
		return;
	assert_int_equal(v.rd.v, n.rd.v);
	for (unsigned i = 0; i < offers; i++) {
		struct offer is = offer_of(w, &v.paths->path[i], shard);
		const struct offer *o = &w->offer[key][source_of(&v.paths->path[i])];

		assert_int_equal(is.value, o->value);
		assert_int_equal(is.label, o->label);
	}
	assert_int_equal(offer_of(w, &v.paths->path[0], shard).value, best);
	assert_int_equal(w->follows_source[key], source_of(&v.paths->path[0]) + 1);
	assert_int_equal(w->follows[key].value, best);
	assert_int_equal(w->follows[key].label, v.paths->path[0].label_flags >> 12);
}

static void
world_check(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++)
		rig_settle(&w->rig[i]);
	follow(w);
	/* again, for withdrawals that waited */
	follow(w);
	for (unsigned key = 0; key < KEYS; key++)
		check_key(w, key);
}

static void
random_steps(unsigned shards, uint64_t seed)
{
	static struct world w;

	world_begin(&w, shards, seed);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned kind = random_below(&w.random, 64);

		if (kind == 0)
			step_restart(&w);
		else if (kind < 4)
			step_refresh(&w);
		else
			step_update(&w);
		if (random_below(&w.random, 4) == 0)
			(void)rig_turn(&w.rig[random_below(&w.random, shards)]);
		if (random_below(&w.random, 32) == 0)
			world_check(&w);
	}
	world_check(&w);
	for (unsigned p = 0; p < PEERS; p++)
		event_all(&w, RIB_SESSION_DOWN, p);
	memset(w.offer, 0, sizeof(w.offer));
	world_check(&w);
	assert_true(w.entries > STEPS);
	journal_unsubscribe(shard_journal(w.rig[0].shard), w.cursor);
	for (unsigned i = 0; i < shards; i++) {
		rig_settle(&w.rig[i]);
		assert_int_equal(shard_failures(w.rig[i].shard), 0);
		assert_int_equal(attr_table_count(shard_attrs(w.rig[i].shard)), 0);
		assert_int_equal(dest_path_count(shard_table(w.rig[i].shard, w.table)), 0);
	}
	rigs_fini(w.rig, shards);
}

static void
one_shard_agrees_with_an_array(void **state)
{
	random_steps(1, 21);
}

static void
two_shards_agree_with_an_array(void **state)
{
	random_steps(2, 22);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(two_distinguishers),
		one_thread_test(a_new_label_alone),
		one_thread_test(next_hops_in_default),
		one_thread_test(a_replay_keeps_the_label),
		one_thread_test(refusals_by_distinguisher),
		one_thread_test(forms_of_other_families),
		one_thread_test(labelled_paths_are_packed),
		one_thread_test(a_removed_table_waits_for_its_readers),
		one_thread_test(a_removed_table_waits_for_a_grace_period),
		one_thread_test(two_thousand_tables),
		one_thread_test(one_shard_agrees_with_an_array),
		one_thread_test(two_shards_agree_with_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
