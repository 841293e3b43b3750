/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes between VPN tables and instances against an oracle: random steps change instances, targets,
 * routes, sessions and next hops; the oracle computes the paths of each table
 * from the sources alone. A follower of the journal must know each table of an instance.
 *
 * KEEL_LEAK_SEEDS: number of runs of 2,500 steps (default 4), with one shard and with three, VPNv4 and
 * VPNv6 by turns.
 */
#include "rib/shard/leak.h"
#include "tests/lpm/one_thread.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define INSTANCES 5u /* vrf 1 to 5 */
#define CES 2u /* sessions of an instance: peer 10 * vrf + 1, + 2 */
#define REFLECTORS 2u /* peers 1 and 2 */
#define FOREIGN_RDS 3u /* RDs 1 to 3; instances have RDs from 4 on */
#define PREFIXES 300u
#define TARGETS 6u
#define CE_PEERS (10 * INSTANCES + CES + 1) /* above all peers */
#define HOPS 3u
#define PATHS_MAX 64u
#define SHARDS 3u

#ifdef KEEL_SANITIZED
#define STEPS 800u
#else
#define STEPS 2500u
#endif

static uint64_t rng;

static unsigned
below(unsigned n)
{
	return random_below(&rng, n);
}

/* A route as announced. The serial is the last AS number of the path and identifies the route. */
struct route {
	bool there, stale;
	uint32_t serial, label;
	unsigned targets; /* bits */
	unsigned hops, hop; /* length of the AS path; next hop */
};

struct model_instance {
	bool exists;
	uint64_t rd;
	uint32_t label, max_routes;
	unsigned import, export; /* bits of targets */
	unsigned import_policy, export_policy; /* index of model.policy */
	struct route ce[CES][PREFIXES], network[PREFIXES];
	bool up[CES];
};

struct model {
	struct rig rigs[SHARDS];
	struct shards shards;
	struct shard *siblings[SHARDS_MAX];
	enum family vpn_family, family;
	struct table_id vpn, table[INSTANCES + 1];
	struct model_instance in[INSTANCES + 1];
	struct route remote[REFLECTORS][FOREIGN_RDS][PREFIXES];
	bool up[REFLECTORS], refreshing[REFLECTORS];
	bool hop_up[INSTANCES + 1][HOPS], hop_asked[INSTANCES + 1][HOPS],
		hop_owed[INSTANCES + 1][HOPS];
	uint32_t serial;
	bool only; /* shard_vpn_imported_only() */
	/* NULL, deny-all, a preference for odd prefixes, only from peers of a group */
	const struct policy *policy[4];
	bool grouped[CE_PEERS]; /* by peer */
	struct journal_cursor *cursor;
	uint64_t replica[INSTANCES + 1][PREFIXES];
	unsigned refused_seen, imported_seen, leaked_seen, exported_seen;
};

/* A path as the oracle and the table describe it. */
struct described {
	uint16_t peer, vrf; /* vrf: of the origin */
	uint64_t rd; /* 0: an own path */
	uint32_t serial, label, preference;
	unsigned targets;
	bool up;
};

/* Sixteen prefixes a range of shards_of(). */
static struct prefix
prefix_at(unsigned i)
{
	struct prefix p = {.afi = AFI_IPV6, .len = 56, .b = {0x20, 0x01, 0x0d, 0xb8}};

	if (rig_family() == FAMILY_IPV4_UNICAST)
		return prefix_from_v4(0x0a000000u + (i << 8), 24);
	rig_put_u32(p.b + 4, i / 16 << 24 | i % 16 << 8);
	return p;
}

static unsigned
prefix_index(const struct prefix *p)
{
	uint32_t n = rig_prefix_number(p);

	return p->afi == AFI_IPV4 ? (n - 0x0a000000u) >> 8 : (n >> 24) * 16 + (n >> 8 & 15);
}

static unsigned
shard_index(const struct model *m, unsigned prefix)
{
	struct prefix p = prefix_at(prefix);

	return shards_of(&m->shards, SHARDS_BY_SITE, &p);
}

/* The table of the shard of a prefix. */
static struct dest_table *
table_of(const struct model *m, struct table_id id, unsigned prefix)
{
	return shard_table(m->shards.at[shard_index(m, prefix)], id);
}

/* Destinations with paths, of all shards. */
static uint32_t
table_count(const struct model *m, struct table_id id)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < m->shards.count; i++)
		count += dest_count(shard_table(m->shards.at[i], id));
	return count;
}

static struct shard_instance_counts
instance_counts(const struct model *m, unsigned vrf)
{
	struct shard_instance_counts all = {0}, one;

	for (unsigned i = 0; i < m->shards.count; i++) {
		shard_instance_counts(m->shards.at[i], (struct vrf_id){(uint16_t)vrf}, &one);
		all.imported += one.imported;
		all.exported += one.exported;
		all.refused += one.refused;
		all.crowded += one.crowded;
		all.crowded_by = one.crowded_by;
	}
	return all;
}

static struct ext_community
target_at(unsigned i)
{
	return (struct ext_community){UINT64_C(0x0002) << 48 | UINT64_C(64512) << 32 | (100 + i)};
}

static uint16_t
ce_peer(unsigned vrf, unsigned i)
{
	return (uint16_t)(10 * vrf + 1 + i);
}

#ifndef KEEL_SANITIZED
static size_t
address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}
#endif

/* ---- attributes ---- */

union leak_attrs {
	struct attr_set a;
	uint8_t room[1024];
};

static void
attrs_make(const struct route *r, unsigned vrf, union leak_attrs *out)
{
	uint32_t path[8] = {65000};
	union rig_attrs plain;
	unsigned count = 0;
	uint8_t *w;

	for (unsigned i = 1; i < r->hops; i++)
		path[i] = 65000;
	path[r->hops] = r->serial;
	rig_attrs_make(&plain, path, r->hops + 1, 0x0a630000u + 256 * vrf + r->hop);
	memset(out, 0, sizeof(*out));
	memcpy(out, &plain, attr_set_size(&plain.a));
	w = out->a.var + out->a.as_path_len;
	for (unsigned i = 0; i < TARGETS; i++) {
		if (!(r->targets >> i & 1))
			continue;
		ext_community_put(target_at(i), w);
		w += 8;
		count++;
	}
	out->a.ext_community_count = (uint16_t)count;
	attr_set_derive(&out->a);
}

static unsigned
targets_of(const struct attr_set *a)
{
	const uint8_t *at = attr_ext_communities(a);
	unsigned bits = 0;

	for (unsigned i = 0; i < a->ext_community_count; i++, at += 8)
		for (unsigned k = 0; k < TARGETS; k++)
			if (ext_community_get(at).v == target_at(k).v)
				bits |= 1u << k;
	return bits;
}

/* ---- policies ---- */

#define PREFERENCE 150u
#define GROUP_KEY 77u

static const struct policy *
policy_odd(void)
{
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	for (unsigned i = 1; i < PREFIXES; i += 2) {
		struct prefix x = prefix_at(i);

		assert_int_equal(policy_prefix_list_add(l, true, &x, x.len, x.len), 0);
	}
	assert_int_equal(policy_prefix_list_seal(l), 0);
	assert_int_equal(policy_builder_create("odd", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
	policy_builder_set_number(b, NUMBER_LOCAL_PREF, PREFERENCE);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	policy_prefix_list_unref(l);
	return p;
}

static const struct policy *
policy_of_group(uint64_t key)
{
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_builder_create("group", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	assert_int_equal(policy_builder_match_peer_group(b, key), 0);
	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

/* ---- the oracle ---- */

/* False: policy denies. */
static bool
policy_run(const struct model *m, unsigned policy, unsigned prefix, struct described *d)
{
	if (policy == 1 || (policy == 2 && prefix % 2 == 0) ||
		(policy == 3 && !m->grouped[d->peer]))
		return false;
	if (policy == 2)
		d->preference = PREFERENCE;
	return true;
}

/* The best own path: the route of this router, then the shorter AS path, then the lower peer. */
static const struct route *
best_own(const struct model *m, unsigned vrf, unsigned prefix, uint16_t *peer)
{
	const struct model_instance *x = &m->in[vrf];
	const struct route *best = NULL;

	*peer = 0;
	if (x->network[prefix].there)
		return &x->network[prefix];
	for (unsigned i = 0; i < CES; i++) {
		const struct route *r = &x->ce[i][prefix];

		if (!r->there || !m->hop_up[vrf][r->hop] || (best != NULL && r->hops >= best->hops))
			continue;
		best = r;
		*peer = ce_peer(vrf, i);
	}
	return best;
}

/* The exported path of an instance; a route without a target is not exported. False: no path. */
static bool
exported(const struct model *m, unsigned vrf, unsigned prefix, struct described *out)
{
	const struct model_instance *x = &m->in[vrf];
	const struct route *r;
	uint16_t peer;

	if (!x->exists || x->rd == 0 || x->label == RIB_LABEL_NONE || x->export == 0)
		return false;
	r = best_own(m, vrf, prefix, &peer);
	if (r == NULL)
		return false;
	*out = (struct described){.peer = peer,
		.vrf = (uint16_t)vrf,
		.rd = x->rd,
		.serial = r->serial,
		.label = RIB_LABEL_NONE,
		.targets = x->export,
		.up = true};
	return policy_run(m, x->export_policy, prefix, out);
}

/* The paths of an instance for a prefix. */
static unsigned
expected_paths(const struct model *m, unsigned vrf, unsigned prefix, struct described *out)
{
	const struct model_instance *x = &m->in[vrf];
	unsigned n = 0;

	if (x->network[prefix].there)
		out[n++] = (struct described){.serial = x->network[prefix].serial,
			.label = RIB_LABEL_NONE,
			.targets = x->network[prefix].targets,
			.up = true};
	for (unsigned i = 0; i < CES; i++)
		if (x->ce[i][prefix].there)
			out[n++] = (struct described){.peer = ce_peer(vrf, i),
				.serial = x->ce[i][prefix].serial,
				.label = RIB_LABEL_NONE,
				.targets = x->ce[i][prefix].targets,
				.up = m->hop_up[vrf][x->ce[i][prefix].hop]};
	if (!x->exists)
		return n;
	for (unsigned p = 0; p < REFLECTORS; p++) {
		for (unsigned rd = 0; rd < FOREIGN_RDS; rd++) {
			const struct route *r = &m->remote[p][rd][prefix];
			struct described d = {.peer = (uint16_t)(1 + p),
				.rd = 1 + rd,
				.serial = r->serial,
				.label = r->label,
				.targets = r->targets,
				.up = m->hop_up[0][r->hop]};

			if (r->there && (r->targets & x->import) != 0 &&
				policy_run(m, x->import_policy, prefix, &d))
				out[n++] = d;
		}
	}
	for (unsigned v = 1; v <= INSTANCES; v++) {
		struct described d;

		if (v != vrf && exported(m, v, prefix, &d) && (d.targets & x->import) != 0 &&
			policy_run(m, x->import_policy, prefix, &d))
			out[n++] = d;
	}
	return n;
}

/* ---- comparison ---- */

static uint64_t
digest_of(const struct described *d)
{
	return hash_mix(d->serial + UINT64_C(0x10001) * d->peer + (d->rd << 40)) +
	       hash_mix(d->label) + hash_mix(d->preference * 3u + d->up) +
	       hash_mix(d->targets + 1000u);
}

static unsigned
read_paths(const struct model *m, unsigned shard, struct table_id table, struct dest_id id,
	struct described *out)
{
	struct shard *s = m->shards.at[shard];
	static union {
		struct path_set set;
		uint8_t room[sizeof(struct path_set) + PATHS_MAX * sizeof(struct rib_path)];
	} room;
	struct dest_view v;
	unsigned n = 0;

	if (id.v == DEST_NONE ||
		!dest_peek_all(shard_table(s, table), id, &v, &room.set, PATHS_MAX) ||
		v.paths == NULL)
		return 0;
	if (v.paths->count > PATHS_MAX)
		return 0; /* of the tests of crowded prefixes, which compare counts */
	for (; n < v.paths->count; n++) {
		const struct rib_path *p = &v.paths->path[n];
		const struct attr_set *a = attr_of(shard_attrs(s), p->accepted);
		struct leak_origin o = {{0}, {0}, 0};

		assert_non_null(a);
		if (shard_path_origin(s, p, &o))
			assert_int_equal(o.path_id, 0);
		out[n] = (struct described){.peer = p->peer.v,
			.vrf = o.vrf.v,
			.rd = o.rd.v,
			.serial = a->origin_asn,
			.label = p->label_flags >> 12,
			.preference = a->has & ATTR_HAS_LOCAL_PREF ? a->local_pref : 0,
			.targets = targets_of(a),
			.up = (p->label_flags & PATH_NEXT_HOP_UP) != 0};
	}
	return n;
}

static bool
same(const struct described *a, const struct described *b)
{
	return a->peer == b->peer && a->vrf == b->vrf && a->rd == b->rd && a->serial == b->serial &&
	       a->label == b->label && a->preference == b->preference && a->targets == b->targets &&
	       a->up == b->up;
}

static void
print(const char *what, const struct described *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		print_error("  %s: peer %u vrf %u rd %llu serial %u label %u pref %u targets %x up "
			    "%d\n",
			what, d[i].peer, d[i].vrf, (unsigned long long)d[i].rd, d[i].serial,
			d[i].label, d[i].preference, d[i].targets, d[i].up);
}

/* Fails for an unexpected path. Returns the number of missing paths. */
static unsigned
missing_of(const struct described *want, unsigned wants, const struct described *got, unsigned gots,
	unsigned vrf, unsigned prefix)
{
	unsigned found = 0;

	for (unsigned i = 0; i < gots; i++) {
		bool known = false;

		for (unsigned k = 0; k < wants; k++)
			known |= same(&got[i], &want[k]);
		if (!known) {
			print_error("vrf %u prefix %u: unexpected path\n", vrf, prefix);
			print("got", &got[i], 1);
			print("want", want, wants);
		}
		assert_true(known);
		found++;
	}
	return wants - found;
}

static void
follow(struct model *m)
{
	struct journal *j = shard_journal(m->shards.at[0]);
	struct journal_entry e[256];
	int n;

	while ((n = journal_read(j, m->cursor, e, 256)) > 0) {
		for (int i = 0; i < n; i++) {
			struct shard *s = m->shards.at[e[i].shard];
			const struct dest_table *t = shard_table(s, e[i].table);
			struct described d[PATHS_MAX];
			struct vrf_id vrf;
			enum family family;
			struct dest_view v;
			uint64_t sum = 0;
			unsigned count;

			shard_table_key(s, e[i].table, &vrf, &family);
			if (vrf.v == 0 || !dest_peek(t, e[i].dest, &v))
				continue;
			count = read_paths(m, e[i].shard, e[i].table, e[i].dest, d);
			for (unsigned k = 0; k < count; k++)
				sum += digest_of(&d[k]);
			m->replica[vrf.v][prefix_index(&v.prefix)] = sum;
		}
		journal_advance(j, m->cursor, e[n - 1].sequence);
	}
}

static void
compare_instance(struct model *m, unsigned vrf)
{
	const struct model_instance *x = &m->in[vrf];
	struct shard_instance_counts counts;
	unsigned missing = 0, imported = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = prefix_at(i);
		struct described want[PATHS_MAX], got[PATHS_MAX];
		unsigned wants = expected_paths(m, vrf, i, want), lacks;
		unsigned gots = read_paths(m, shard_index(m, i), m->table[vrf],
			dest_find(table_of(m, m->table[vrf], i), &p), got);
		uint64_t sum = 0;

		lacks = missing_of(want, wants, got, gots, vrf, i);
		if (lacks > 0 && x->max_routes == 0) {
			print_error("vrf %u prefix %u: %u missing\n", vrf, i, lacks);
			print("got", got, gots);
			print("want", want, wants);
			fail();
		}
		missing += lacks;
		for (unsigned k = 0; k < gots; k++) {
			imported += got[k].rd != 0;
			m->leaked_seen += got[k].vrf != 0;
			sum += digest_of(&got[k]);
		}
		assert_int_equal(m->replica[vrf][i], sum);
	}
	counts = instance_counts(m, vrf);
	assert_int_equal(counts.imported, imported);
	m->imported_seen += imported;
	/* refused for want of room, and no other route counts as refused */
	assert_int_equal(counts.refused, missing);
	assert_true(missing == 0 || table_count(m, m->table[vrf]) >= x->max_routes);
	m->refused_seen += missing > 0;
}

static bool
any_instance(const struct model *m)
{
	for (unsigned v = 1; v <= INSTANCES; v++)
		if (m->in[v].exists)
			return true;
	return false;
}

static bool
is_stored(const struct model *m, const struct route *r)
{
	for (unsigned v = 1; r->there && m->only && v <= INSTANCES; v++)
		if (m->in[v].exists && (m->in[v].import & r->targets) != 0)
			return true;
	return r->there && !m->only;
}

static void
compare_vpn(struct model *m)
{
	unsigned exports = 0, total = 0, dests = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = prefix_at(i);
		struct dest_table *t = table_of(m, m->vpn, i);

		for (unsigned rd = 0; rd < FOREIGN_RDS && (!m->only || any_instance(m)); rd++) {
			struct described got[PATHS_MAX];
			unsigned n = read_paths(m, shard_index(m, i), m->vpn,
				dest_find_rd(t, (struct vpn_rd){1 + rd}, &p), got);
			unsigned want = 0;

			for (unsigned k = 0; k < REFLECTORS; k++)
				want += is_stored(m, &m->remote[k][rd][i]);
			assert_int_equal(n, want);
			dests += want > 0;
		}
		for (unsigned v = 1; v <= INSTANCES; v++) {
			struct described want, got[PATHS_MAX];
			unsigned n;

			if (m->in[v].rd == 0)
				continue;
			n = read_paths(m, shard_index(m, i), m->vpn,
				dest_find_rd(t, (struct vpn_rd){m->in[v].rd}, &p), got);
			if (!exported(m, v, i, &want)) {
				assert_int_equal(n, 0);
				continue;
			}
			assert_int_equal(n, 1);
			assert_int_equal(got[0].peer, 0);
			assert_int_equal(got[0].serial, want.serial);
			assert_int_equal(got[0].label, m->in[v].label);
			assert_int_equal(got[0].targets, want.targets);
			assert_int_equal(got[0].preference, want.preference);
			exports++;
		}
	}
	/* no path of an old distinguisher is left */
	if (!m->only || any_instance(m))
		assert_int_equal(table_count(m, m->vpn), dests + exports);
	for (unsigned v = 1; v <= INSTANCES; v++)
		total += (unsigned)instance_counts(m, v).exported;
	assert_int_equal(total, exports);
	m->exported_seen += exports;
}

/* ---- next hops ---- */

static void
asked(struct rig *r, const struct nexthop_message *msg)
{
	struct model *m = r->ctx;
	unsigned number = rig_hop_number(&msg->addr) - 0x0a630000u, vrf = number / 256,
		 hop = number % 256;

	assert_int_equal(msg->vrf.v, vrf);
	assert_true(hop < HOPS);
	/* shards ask for themselves, and each gets all answers */
	m->hop_asked[vrf][hop] |= !msg->unwatch;
	m->hop_owed[vrf][hop] |= !msg->unwatch;
}

static void
hop_tell(struct model *m, unsigned vrf, unsigned hop)
{
	m->hop_owed[vrf][hop] = false;
	for (unsigned i = 0; i < m->shards.count; i++)
		rig_tell(&m->rigs[i], (uint16_t)vrf, 0x0a630000u + 256 * vrf + hop,
			m->hop_up[vrf][hop], m->hop_up[vrf][hop], 0);
}

static void
hops_answer(struct model *m)
{
	for (unsigned v = 0; v <= INSTANCES; v++)
		for (unsigned h = 0; h < HOPS; h++)
			if (m->hop_owed[v][h])
				hop_tell(m, v, h);
}

/* ---- steps ---- */

/* All input, walks and answers about next hops. */
static void
rest(struct model *m)
{
	bool owed = true;

	while (owed) {
		for (unsigned i = 0; i < m->shards.count; i++)
			rig_settle(&m->rigs[i]);
		owed = false;
		for (unsigned v = 0; v <= INSTANCES; v++)
			for (unsigned h = 0; h < HOPS; h++)
				owed |= m->hop_owed[v][h];
		hops_answer(m);
	}
}

static void
settle(struct model *m)
{
	rest(m);
	follow(m);
}

static struct route
any_route(struct model *m)
{
	return (struct route){.there = true,
		.serial = ++m->serial,
		.label = 16 + below(1000),
		.targets = below(3) == 0 ? 1u << below(TARGETS) : below(1u << TARGETS),
		.hops = 1 + below(3),
		.hop = below(HOPS)};
}

/* A run of prefixes, mostly short. */
static unsigned
any_run(unsigned *first)
{
	unsigned count = below(4) == 0 ? 1 + below(PREFIXES / 2) : 1 + below(4);

	*first = below(PREFIXES);
	return *first + count > PREFIXES ? PREFIXES - *first : count;
}

static void
update(struct model *m, uint16_t peer, unsigned vrf, uint64_t rd, const struct route *r,
	unsigned first, unsigned count)
{
	struct rib_nlri n[PREFIXES];
	union leak_attrs a;

	if (r->there)
		attrs_make(r, vrf, &a);
	for (unsigned shard = 0; shard < m->shards.count; shard++) {
		struct rig *rig = &m->rigs[shard];
		unsigned of_shard = 0;

		for (unsigned i = 0; i < count; i++)
			if (shard_index(m, first + i) == shard)
				n[of_shard++] = (struct rib_nlri){.prefix = prefix_at(first + i),
					.rd = {rd},
					.label = rd != 0 ? r->label : RIB_LABEL_NONE};
		if (of_shard > 0)
			rig_update_in(rig, rd != 0 ? m->vpn_family : m->family, peer,
				r->there ? &a.a : NULL, n, of_shard, rig->now_ns);
	}
}

static void
step_remote(struct model *m)
{
	unsigned p = below(REFLECTORS), rd = below(FOREIGN_RDS), first, count = any_run(&first);
	struct route r = any_route(m);

	if (!m->up[p])
		return;
	r.there = below(3) > 0;
	update(m, (uint16_t)(1 + p), 0, 1 + rd, &r, first, count);
	for (unsigned i = 0; i < count; i++)
		m->remote[p][rd][first + i] = r;
}

static void
step_ce(struct model *m)
{
	unsigned vrf = 1 + below(INSTANCES), i = below(CES), first, count = any_run(&first);
	struct route r = any_route(m);

	if (!m->in[vrf].up[i])
		return;
	r.there = below(3) > 0;
	update(m, ce_peer(vrf, i), vrf, 0, &r, first, count);
	for (unsigned k = 0; k < count; k++)
		m->in[vrf].ce[i][first + k] = r;
}

static void
step_network(struct model *m)
{
	unsigned vrf = 1 + below(INSTANCES), i = below(PREFIXES);
	struct route r = any_route(m);
	struct prefix p = prefix_at(i);
	union leak_attrs a;

	r.there = below(2);
	attrs_make(&r, vrf, &a);
	assert_int_equal(
		shard_originate(m->shards.at[shard_index(m, i)], (struct vrf_id){(uint16_t)vrf},
			m->family, &p, r.there ? &a.a : NULL),
		0);
	m->in[vrf].network[i] = r;
}

static void
routes_end(struct route *r, bool stale_only)
{
	for (unsigned i = 0; i < PREFIXES; i++)
		if (!stale_only || r[i].stale)
			r[i].there = false;
}

static void
step_session(struct model *m)
{
	unsigned vrf = below(INSTANCES + 1), i = below(2);
	uint16_t peer = vrf == 0 ? (uint16_t)(1 + i) : ce_peer(vrf, i);
	bool *up = vrf == 0 ? &m->up[i] : &m->in[vrf].up[i];

	*up = !*up;
	for (unsigned k = 0; k < m->shards.count; k++) {
		if (*up)
			rig_up(&m->rigs[k], peer, vrf == 0 ? RIG_OWN_ASN : 65000, peer, vrf != 0);
		else
			rig_event(&m->rigs[k], RIB_SESSION_DOWN, peer);
	}
	if (*up)
		return;
	if (vrf != 0)
		routes_end(m->in[vrf].ce[i], false);
	for (unsigned rd = 0; vrf == 0 && rd < FOREIGN_RDS; rd++)
		routes_end(m->remote[i][rd], false);
	m->refreshing[i] &= vrf != 0;
}

static void
vpn_event(struct model *m, enum rib_record_kind kind, uint16_t peer)
{
	for (unsigned i = 0; i < m->shards.count; i++) {
		struct rib_record head = {.kind = (uint8_t)kind,
			.family = (uint8_t)m->vpn_family,
			.peer = {peer},
			.received_ns = m->rigs[i].now_ns};

		(void)rig_record(&m->rigs[i], &head, 0);
	}
}

/* BoRR, all routes or a part again, EoRR. */
static void
refresh(struct model *m, unsigned p, bool all)
{
	uint16_t peer = (uint16_t)(1 + p);

	if (!m->up[p])
		return;
	vpn_event(m, RIB_BEGIN_REFRESH, peer);
	for (unsigned rd = 0; rd < FOREIGN_RDS; rd++) {
		for (unsigned i = 0; i < PREFIXES; i++) {
			struct route *r = &m->remote[p][rd][i];

			r->stale = !all && below(8) == 0;
			if (r->there && !r->stale)
				update(m, peer, 0, 1 + rd, r, i, 1);
		}
		routes_end(m->remote[p][rd], true);
	}
	vpn_event(m, RIB_END_REFRESH, peer);
}

static void
step_refresh(struct model *m)
{
	refresh(m, below(REFLECTORS), false);
}

static unsigned
targets_list(unsigned bits, struct ext_community *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TARGETS; i++)
		if (bits >> i & 1)
			out[n++] = target_at(i);
	return n;
}

static void
instance_set(struct model *m, unsigned vrf)
{
	struct ext_community import[TARGETS], export[TARGETS];
	const struct model_instance *x = &m->in[vrf];
	struct shard_instance i = {.vrf = {(uint16_t)vrf},
		.rd = {x->rd},
		.label = x->label,
		.import_targets = import,
		.export_targets = export,
		.import_count = targets_list(x->import, import),
		.export_count = targets_list(x->export, export),
		.import_policy = m->policy[x->import_policy],
		.export_policy = m->policy[x->export_policy],
		.max_routes = x->max_routes};

	for (unsigned k = 0; k < m->shards.count; k++)
		assert_int_equal(shard_instance_set(m->shards.at[k], &i), 0);
}

static void
instance_remove(struct model *m, unsigned vrf)
{
	for (unsigned k = 0; k < m->shards.count; k++)
		assert_int_equal(
			shard_instance_remove(m->shards.at[k], (struct vrf_id){(uint16_t)vrf}), 0);
	m->in[vrf].exists = false;
	m->in[vrf].rd = 0;
}

/* An RD without an instance; its routes may still wait for their withdrawal. */
static uint64_t
any_rd(const struct model *m)
{
	uint64_t rd = 4 + below(INSTANCES + 2);

	for (unsigned v = 1; v <= INSTANCES; v++)
		if (m->in[v].rd == rd)
			return 0;
	return rd;
}

static void
step_instance(struct model *m)
{
	unsigned vrf = 1 + below(INSTANCES), what = below(8);
	struct model_instance *x = &m->in[vrf];
	unsigned before = x->exists ? x->import : 0;

	if (x->exists && below(6) == 0) {
		instance_remove(m, vrf);
		return;
	}
	if (!x->exists || what == 0) {
		x->rd = any_rd(m);
		x->label = below(6) == 0 ? RIB_LABEL_NONE : 16 + below(1000);
	}
	if (!x->exists || what == 1 || what == 2)
		x->import = below(1u << TARGETS);
	if (!x->exists || what == 3)
		x->export = below(8) == 0 ? 0 : 1u << below(TARGETS) | 1u << below(TARGETS);
	if (what == 4)
		x->import ^= 1u << below(TARGETS);
	if (what == 5)
		x->import_policy = below(4);
	if (what == 6)
		x->export_policy = below(4);
	if (what == 7)
		x->max_routes = below(2) == 0 ? 0 : 20 + below(PREFIXES);
	x->exists = true;
	instance_set(m, vrf);
	/* a further target asks the peers */
	for (unsigned p = 0; m->only && (x->import & ~before) != 0 && p < REFLECTORS; p++)
		refresh(m, p, true);
}

/* Two instances exchange their distinguishers, or one takes that of a removed instance. */
static void
step_exchange(struct model *m)
{
	unsigned from = 1 + below(INSTANCES), to = 1 + below(INSTANCES);
	uint64_t rd = m->in[from].rd;

	if (from == to || !m->in[from].exists || !m->in[to].exists)
		return;
	if (below(2)) {
		instance_remove(m, from);
	} else {
		m->in[from].rd = m->in[to].rd;
		instance_set(m, from);
	}
	m->in[to].rd = rd;
	instance_set(m, to);
}

/* A peer enters the group, or leaves it. */
static void
step_group(struct model *m)
{
	unsigned v = below(INSTANCES + 1), i = below(2);
	uint16_t peer = v == 0 ? (uint16_t)(1 + i) : ce_peer(v, i);
	struct shard_peer p;

	m->grouped[peer] = !m->grouped[peer];
	for (unsigned k = 0; k < m->shards.count; k++) {
		assert_true(shard_peer_peek(m->shards.at[k], (struct peer_id){peer}, &p));
		p.group_key = m->grouped[peer] ? GROUP_KEY : 0;
		assert_int_equal(shard_peer_change(m->shards.at[k], &p), 0);
	}
}

static void
step_hop(struct model *m)
{
	unsigned vrf = below(INSTANCES + 1), hop = below(HOPS);

	m->hop_up[vrf][hop] = !m->hop_up[vrf][hop];
	if (m->hop_asked[vrf][hop])
		hop_tell(m, vrf, hop);
}

static void
compare(struct model *m)
{
	settle(m);
	/* refused imports are repeated, and then counted, after a second */
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < m->shards.count; i++)
			m->rigs[i].now_ns += 2000000000u;
		settle(m);
	}
	for (unsigned v = 1; v <= INSTANCES; v++)
		compare_instance(m, v);
	compare_vpn(m);
	for (unsigned i = 0; i < m->shards.count; i++)
		assert_int_equal(shard_failures(m->shards.at[i]), 0);
}

static void
model_shard_begin(struct model *m, unsigned i)
{
	struct rig *r = &m->rigs[i];

	r->asked = asked;
	r->ctx = m;
	assert_int_equal(shard_table_add(r->shard, VRF_DEFAULT, m->vpn_family, &m->vpn), 0);
	for (unsigned p = 0; p < REFLECTORS; p++)
		rig_peer(r, (uint16_t)(1 + p), RIG_OWN_ASN, false, false);
	for (unsigned v = 1; v <= INSTANCES; v++) {
		assert_int_equal(shard_table_add(r->shard, (struct vrf_id){(uint16_t)v}, m->family,
					 &m->table[v]),
			0);
		for (unsigned k = 0; k < CES; k++) {
			struct shard_peer p = {.id = {ce_peer(v, k)},
				.vrf = {(uint16_t)v},
				.addr = rig_peer_addr(ce_peer(v, k)),
				.external = true,
				.asn = 65000};

			assert_int_equal(shard_peer_add(r->shard, &p), 0);
			shard_peer_import(r->shard, p.id, m->family, policy_accept_all());
		}
	}
}

static void
model_begin(struct model *m, unsigned shards, bool ipv6)
{
	memset(m, 0, sizeof(*m));
	rig_mode = ipv6 ? RIG_V6 : RIG_V4;
	m->family = rig_family();
	m->vpn_family = ipv6 ? FAMILY_VPNV6_UNICAST : FAMILY_VPNV4_UNICAST;
	rigs_init_siblings(m->rigs, shards, true, 1u << 18, &m->shards, m->siblings);
	m->policy[1] = policy_deny_all();
	m->policy[2] = policy_odd();
	m->policy[3] = policy_of_group(GROUP_KEY);
	for (unsigned i = 0; i < shards; i++)
		model_shard_begin(m, i);
	for (unsigned v = 0; v <= INSTANCES; v++)
		for (unsigned h = 0; h < HOPS; h++)
			m->hop_up[v][h] = below(3) > 0;
	assert_int_equal(journal_subscribe(shard_journal(m->shards.at[0]), &m->cursor), 0);
}

static void
sources_end(struct model *m)
{
	for (unsigned v = 0; v <= INSTANCES; v++)
		for (unsigned i = 0; i < 2; i++) {
			uint16_t peer = v == 0 ? (uint16_t)(1 + i) : ce_peer(v, i);

			for (unsigned k = 0; k < m->shards.count; k++)
				if (v == 0 ? m->up[i] : m->in[v].up[i])
					rig_event(&m->rigs[k], RIB_SESSION_DOWN, peer);
		}
	for (unsigned v = 1; v <= INSTANCES; v++) {
		struct vrf_id vrf = {(uint16_t)v};

		for (unsigned i = 0; i < PREFIXES; i++) {
			struct prefix p = prefix_at(i);

			assert_int_equal(shard_originate(m->shards.at[shard_index(m, i)], vrf,
						 m->family, &p, NULL),
				0);
		}
		if (!m->in[v].exists)
			continue;
		assert_int_equal(shard_table_remove(m->shards.at[0], m->table[v]), -EBUSY);
		instance_remove(m, v);
	}
}

/* After the end of all sources no path, attribute set or peer is left. */
static void
model_end(struct model *m)
{
	sources_end(m);
	settle(m);
	assert_int_equal(table_count(m, m->vpn), 0);
	for (unsigned k = 0; k < m->shards.count; k++) {
		struct shard *s = m->shards.at[k];

		for (unsigned v = 1; v <= INSTANCES; v++) {
			assert_int_equal(shard_table_remove(s, m->table[v]), 0);
			assert_true(shard_instance_idle(s, (struct vrf_id){(uint16_t)v}));
			assert_int_equal(dest_count(shard_table(s, m->table[v])), 0);
			for (unsigned i = 0; i < CES; i++)
				assert_int_equal(
					shard_peer_remove(s, (struct peer_id){ce_peer(v, i)}), 0);
		}
		for (unsigned i = 0; i < 100 && attr_table_count(shard_attrs(s)) > 0; i++)
			settle(m);
		assert_int_equal(attr_table_count(shard_attrs(s)), 0);
	}
	policy_destroy((struct policy *)(uintptr_t)m->policy[2]);
	policy_destroy((struct policy *)(uintptr_t)m->policy[3]);
	rigs_fini(m->rigs, m->shards.count);
}

static void
steps_follow_the_oracle(void **state)
{
	static struct model m;
	const char *text = getenv("KEEL_LEAK_SEEDS");
	unsigned seeds = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 4;
	unsigned imported = 0, leaked = 0, exports = 0, refused = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		rng = seed;
		rig_crowd =
			seed % 3 == 0 ? 0 : seed % 3 + 1; /* imports wait from 2 or 3 paths on */
		model_begin(&m, seed % 4 < 2 ? 1 : SHARDS, seed % 2 == 0);
		m.only = (seed - 1) / 2 % 2 == 1;
		for (unsigned i = 0; i < m.shards.count; i++)
			shard_vpn_imported_only(m.shards.at[i], m.only);
		for (unsigned step = 0; step < STEPS; step++) {
			unsigned what = below(100);

			if (what < 45)
				step_remote(&m);
			else if (what < 70)
				step_ce(&m);
			else if (what < 75)
				step_network(&m);
			else if (what < 79)
				step_session(&m);
			else if (what < 80)
				step_refresh(&m);
			else if (what < 91)
				step_instance(&m);
			else if (what < 93)
				step_exchange(&m);
			else if (what < 95)
				step_group(&m);
			else
				step_hop(&m);
			for (unsigned i = 0; i < m.shards.count; i++) {
				if (below(4) == 0)
					rig_put(&m.rigs[i]);
				for (unsigned k = below(4); k > 0; k--)
					(void)rig_turn(&m.rigs[i]);
			}
			hops_answer(&m);
			if (below(25) == 0)
				compare(&m);
		}
		compare(&m);
		imported += m.imported_seen;
		leaked += m.leaked_seen;
		exports += m.exported_seen;
		refused += m.refused_seen;
		model_end(&m);
	}
	/* the steps reached all kinds of paths */
	assert_true(imported > 1000 && leaked > 1000 && exports > 1000 && refused > 0);
}

/* A prefix in all instances with a route of `from`. */
static void
originate_all(struct model *m, unsigned from)
{
	for (unsigned i = 0; i < PREFIXES; i++) {
		const struct route r = {.there = true, .serial = 1 + i, .hops = 1};
		struct prefix p = prefix_at(i);
		union leak_attrs a;

		attrs_make(&r, from, &a);
		assert_int_equal(shard_originate(m->shards.at[shard_index(m, i)],
					 (struct vrf_id){(uint16_t)from}, m->family, &p, &a.a),
			0);
		m->in[from].network[i] = r;
	}
}

/* Instance 1 imports the routes of instance 2. */
static void
pair_begin(struct model *m)
{
	model_begin(m, 1, false);
	for (unsigned v = 1; v <= 2; v++) {
		m->in[v] = (struct model_instance){.exists = true,
			.rd = 3 + v,
			.label = 15 + v,
			.import = v == 1,
			.export = v == 2};
		instance_set(m, v);
	}
	originate_all(m, 2);
	settle(m);
	assert_int_equal(table_count(m, m->table[1]), PREFIXES);
}

/* Turns until the end; instance 1 and the VPN table have each route throughout. */
static void
turns_without_a_gap(struct model *m, unsigned most)
{
	for (bool more = true; more;) {
		more = rig_turn(&m->rigs[0]);
		for (unsigned i = 0; i < PREFIXES; i++) {
			struct prefix p = prefix_at(i);
			struct described d[PATHS_MAX];
			unsigned n = read_paths(
				m, 0, m->table[1], dest_find(table_of(m, m->table[1], i), &p), d);

			assert_true(n >= 1 && n <= most);
		}
		assert_true(table_count(m, m->vpn) >= PREFIXES);
	}
	settle(m);
	compare_instance(m, 1);
	compare_vpn(m);
}

/* Two instances change to another target in one commit: the importer keeps each route throughout. */
static void
a_target_moves_without_a_gap(void **state)
{
	static struct model m;
	const unsigned orders[][2] = {{1, 2}, {2, 1}};

	pair_begin(&m);
	for (unsigned step = 0; step < 6; step++) {
		m.in[2].export = m.in[1].import = step % 2 == 0 ? 2 : 1;
		for (unsigned k = 0; k < 2; k++)
			instance_set(&m, orders[step / 2 % 2][k]);
		turns_without_a_gap(&m, 1);
	}
	model_end(&m);
}

/* The exports under a new distinguisher come before those under the old one go. */
static void
a_distinguisher_changes_without_a_gap(void **state)
{
	static struct model m;

	pair_begin(&m);
	for (unsigned step = 0; step < 9; step++) {
		uint64_t before = m.in[2].rd;

		m.in[2].rd = 10 + step;
		instance_set(&m, 2);
		/* once more within the change, or back */
		for (unsigned i = 0; step >= 3 && i < step; i++)
			(void)rig_turn(&m.rigs[0]);
		if (step >= 3) {
			m.in[2].rd = step % 2 == 0 ? before : 20 + step;
			instance_set(&m, 2);
		}
		turns_without_a_gap(&m, 2);
	}
	model_end(&m);
}

/* Counts of a limit follow the refused routes: down when a refused route is withdrawn. */
static void
refused_routes_go(void **state)
{
	static struct model m;

	model_begin(&m, 1, false);
	m.in[1] = (struct model_instance){
		.exists = true, .label = 16, .import = 1, .max_routes = 100};
	instance_set(&m, 1);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	for (unsigned i = 0; i < PREFIXES; i++) {
		m.remote[0][0][i] = (struct route){
			.there = true, .serial = i + 1, .label = 20, .targets = 1, .hops = 1};
		update(&m, 1, 0, 1, &m.remote[0][0][i], i, 1);
	}
	compare(&m);
	assert_int_equal(instance_counts(&m, 1).refused, PREFIXES - 100);
	/* announced again, refused again */
	for (unsigned i = 0; i < PREFIXES; i++) {
		m.remote[0][0][i].serial += PREFIXES;
		update(&m, 1, 0, 1, &m.remote[0][0][i], i, 1);
	}
	compare(&m);
	assert_int_equal(instance_counts(&m, 1).refused, PREFIXES - 100);
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = prefix_at(i);

		if (dest_find(table_of(&m, m.table[1], i), &p).v != DEST_NONE)
			continue;
		m.remote[0][0][i].there = false;
		update(&m, 1, 0, 1, &m.remote[0][0][i], i, 1);
	}
	compare(&m);
	assert_int_equal(instance_counts(&m, 1).refused, 0);
	assert_int_equal(table_count(&m, m.table[1]), 100);
	model_end(&m);
}

/* An instance with the given import targets, of a shard with storage of imported routes. */
static void
begin_imported_only(struct model *m, unsigned import)
{
	model_begin(m, 1, false);
	m->only = true;
	shard_vpn_imported_only(m->rigs[0].shard, true);
	m->in[1] = (struct model_instance){.exists = true, .label = 16, .import = import};
	instance_set(m, 1);
}

/*
 * Routes that no instance imports any more are dropped, also where the remaining targets have no
 * route.
 */
static void
a_target_goes_with_its_routes(void **state)
{
	static struct model m;

	begin_imported_only(&m, 3);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	for (unsigned rd = 0; rd < 2; rd++)
		for (unsigned i = 0; i < PREFIXES; i++) {
			struct route *r = &m.remote[0][rd][i];

			*r = (struct route){.there = true,
				.serial = ++m.serial,
				.label = 20,
				.targets = 1u << rd,
				.hops = 1};
			update(&m, 1, 0, 1 + rd, r, i, 1);
		}
	compare(&m);
	assert_int_equal(table_count(&m, m.vpn), 2 * PREFIXES);
	for (unsigned import = 1; import <= 2; import++) {
		m.in[1].import = import;
		instance_set(&m, 1);
		if (import == 2)
			refresh(&m, 0, true);
		compare(&m);
		assert_int_equal(table_count(&m, m.vpn), PREFIXES);
		assert_int_equal(table_count(&m, m.table[1]), PREFIXES);
	}
	model_end(&m);
}

/*
 * While no instance exists, the shard does not note the places of route targets. The next instance
 * finds the routes of this time, also after a pass over the tables.
 */
static void
routes_without_an_instance_are_found(void **state)
{
	static struct model m;

	begin_imported_only(&m, 1);
	rest(&m);
	instance_remove(&m, 1);
	rest(&m);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	for (unsigned i = 0; i < PREFIXES; i++) {
		m.remote[0][0][i] = (struct route){
			.there = true, .serial = i + 1, .label = 20, .targets = 1, .hops = 1};
		update(&m, 1, 0, 1, &m.remote[0][0][i], i, 1);
	}
	rest(&m);
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	rest(&m);
	assert_int_equal(table_count(&m, m.table[1]), PREFIXES);
	model_end(&m);
}

/* One prefix of many distinguishers: the order among hundreds of paths is that of a full ranking. */
static void
many_distinguishers_of_one_prefix(void **state)
{
	enum { MANY = 300 };
	const struct prefix p = prefix_at(0);
	static struct model m;
	struct dest_table *t;
	struct dest_view v;

	model_begin(&m, 1, false);
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	for (unsigned h = 0; h < HOPS; h++)
		m.hop_up[0][h] = h != 1;
	t = table_of(&m, m.table[1], 0);
	for (unsigned round = 0; round < 3; round++) {
		unsigned there = 0, eligible = 0;

		for (unsigned i = 0; i < MANY; i++) {
			struct route r = {.there = round == 0 || below(3) > 0,
				.serial = 1 + i,
				.label = 20 + i,
				.targets = 1,
				.hops = 1 + below(4),
				.hop = below(HOPS)};

			update(&m, 1, 0, 100 + i, &r, 0, 1);
			there += r.there;
			eligible += r.there && r.hop != 1;
		}
		rest(&m);
		assert_true(dest_peek(t, dest_find(t, &p), &v));
		assert_int_equal(v.paths->count, there);
		assert_int_equal(v.paths->eligible, eligible);
		for (unsigned i = 1; i < there; i++) {
			const struct rib_path *a = &v.paths->path[i - 1], *b = a + 1;
			struct attr_table *sets = shard_attrs(m.shards.at[0]);
			struct leak_origin one, next;
			unsigned up = a->label_flags & PATH_NEXT_HOP_UP,
				 next_up = b->label_flags & PATH_NEXT_HOP_UP,
				 first = attr_of(sets, a->accepted)->as_path_len,
				 second = attr_of(sets, b->accepted)->as_path_len;

			assert_true(up >= next_up);
			assert_true(shard_path_origin(m.shards.at[0], a, &one) &&
				    shard_path_origin(m.shards.at[0], b, &next));
			assert_true(up > next_up || first < second ||
				    (first == second && one.rd.v < next.rd.v));
		}
	}
	sources_end(&m);
	rest(&m);
	m.up[0] = m.in[1].exists = false;
	model_end(&m);
}

/* Processor time of the shard for each of `count` distinguishers of one prefix, imported and withdrawn, in ns. */
static uint64_t
time_of_distinguishers(unsigned count, bool med)
{
	struct route r = {.there = true, .label = 20, .targets = 1, .hops = 1};
	struct timespec begun, end;
	static struct model m;
	union leak_attrs a;
	struct rib_nlri n = {.prefix = prefix_at(0), .label = 20};

	model_begin(&m, 1, false);
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	settle(&m);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
	for (unsigned i = 0; i < count; i++) {
		r.serial = 1 + i % 100;
		attrs_make(&r, 0, &a);
		if (med) { /* pairs of a neighbour AS with different MEDs */
			a.a.first_asn = 100 + i / 2;
			a.a.has |= ATTR_HAS_MED;
			a.a.med = i % 2;
		}
		n.rd.v = 100 + i;
		rig_update_in(&m.rigs[0], m.vpn_family, 1, &a.a, &n, 1, m.rigs[0].now_ns);
		if (i % 100 == 99)
			rig_drain(&m.rigs[0]);
	}
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, count);
	rig_event(&m.rigs[0], RIB_SESSION_DOWN, 1);
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, 0);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	sources_end(&m);
	rest(&m);
	m.up[0] = m.in[1].exists = false;
	model_end(&m);
	return ((uint64_t)(end.tv_sec - begun.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec -
		       (uint64_t)begun.tv_nsec) /
	       count;
}

/* The time for a path does not grow with the distinguishers of its prefix, also where MED decides. */
static void
a_crowded_prefix_costs_no_more_for_each_path(void **state)
{
	rig_crowd = 0;
	for (unsigned med = 0; med < 2; med++) {
		uint64_t few = UINT64_MAX, many = UINT64_MAX;

		/* the least of three: other programs take time, and never give time */
		for (unsigned i = 0; i < 3; i++) {
			uint64_t ns = time_of_distinguishers(800, med != 0);

			few = ns < few ? ns : few;
			ns = time_of_distinguishers(8000, med != 0);
			many = ns < many ? ns : many;
			if (many <= 3 * few)
				break;
		}
		if (many > 3 * few)
			fail_msg("%llu ns for each of 800 paths, %llu of 8,000",
				(unsigned long long)few, (unsigned long long)many);
	}
}

/* Announces `count` distinguishers of a prefix, from `first` on. */
static void
distinguishers(struct model *m, uint16_t peer, unsigned first, unsigned count)
{
	struct route r = {.there = true, .serial = 1, .label = 20, .targets = 1, .hops = 1};
	struct rib_nlri n[64];
	union leak_attrs a;

	attrs_make(&r, 0, &a);
	for (unsigned i = 0; i < count; i += 64) {
		unsigned k = 0;

		for (; k < 64 && i + k < count; k++)
			n[k] = (struct rib_nlri){
				.prefix = prefix_at(0), .label = 20, .rd = {first + i + k}};
		rig_update_in(&m->rigs[0], m->vpn_family, peer, &a.a, n, k, m->rigs[0].now_ns);
		rig_drain(&m->rigs[0]);
	}
	settle(m);
}

/*
 * A prefix has room for 32,768 imported paths in an instance, and one peer gets half of the room.
 * The paths without room are counted, and follow when there is room.
 */
static void
no_peer_takes_all_paths_of_a_prefix(void **state)
{
	enum { ROOM = 32768 };
	static struct model m;

	rig_crowd = 0;
	model_begin(&m, 1, false);
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	for (unsigned i = 0; i < REFLECTORS; i++) {
		m.up[i] = true;
		rig_up(&m.rigs[0], (uint16_t)(1 + i), RIG_OWN_ASN, 1 + i, false);
	}
	distinguishers(&m, 1, 1000, ROOM + 100);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).crowded, ROOM / 2 + 100);
	assert_int_equal(instance_counts(&m, 1).crowded_by.v, 1);
	distinguishers(&m, 2, 1000, 5000);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2 + 5000);
	rig_event(&m.rigs[0], RIB_SESSION_DOWN, 2);
	settle(&m);
	m.rigs[0].now_ns += UINT64_C(70000000000);
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).crowded, ROOM / 2 + 100);
	/* all that have room go, and the others follow */
	for (unsigned i = 0; i < ROOM / 2; i += 64) {
		struct rib_nlri n[64];

		for (unsigned k = 0; k < 64; k++)
			n[k] = (struct rib_nlri){.prefix = prefix_at(0), .rd = {1000 + i + k}};
		rig_update_in(&m.rigs[0], m.vpn_family, 1, NULL, n, 64, m.rigs[0].now_ns);
		rig_drain(&m.rigs[0]);
	}
	settle(&m);
	m.rigs[0].now_ns += UINT64_C(70000000000);
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).crowded, 100);
	rig_event(&m.rigs[0], RIB_SESSION_DOWN, 1);
	settle(&m);
	m.rigs[0].now_ns += UINT64_C(70000000000);
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, 0);
	assert_int_equal(instance_counts(&m, 1).crowded, 0);
	sources_end(&m);
	rest(&m);
	m.up[0] = m.up[1] = m.in[1].exists = false;
	model_end(&m);
}

/* A reflector announces prefixes `first` to `first + count - 1` under an RD. */
static void
announce(struct model *m, uint16_t peer, uint64_t rd, unsigned first, unsigned count)
{
	struct route r = {.there = true, .serial = 1, .label = 20, .targets = 1, .hops = 1};
	struct rib_nlri n[PREFIXES];
	union leak_attrs a;

	attrs_make(&r, 0, &a);
	for (unsigned i = 0; i < count; i++)
		n[i] = (struct rib_nlri){.prefix = prefix_at(first + i), .label = 20, .rd = {rd}};
	rig_update_in(&m->rigs[0], m->vpn_family, peer, &a.a, n, count, m->rigs[0].now_ns);
	rig_put(&m->rigs[0]);
}

/* Instances 1 to `count` import from the reflectors. */
static void
importers_begin(struct model *m, unsigned count)
{
	rig_crowd = 0;
	model_begin(m, 1, false);
	for (unsigned h = 0; h < HOPS; h++)
		m->hop_up[0][h] = true;
	for (unsigned v = 1; v <= count; v++) {
		m->in[v] = (struct model_instance){.exists = true, .label = 16, .import = 1};
		instance_set(m, v);
	}
	for (unsigned i = 0; i < REFLECTORS; i++) {
		m->up[i] = true;
		rig_up(&m->rigs[0], (uint16_t)(1 + i), RIG_OWN_ASN, 1 + i, false);
	}
	settle(m);
}

static void
importers_end(struct model *m)
{
	sources_end(m);
	rest(m);
	for (unsigned v = 1; v <= INSTANCES; v++)
		m->in[v].exists = false;
	for (unsigned i = 0; i < REFLECTORS; i++)
		m->up[i] = false;
	model_end(m);
}

/*
 * Dynamic peers of a group have one share of a prefix. Paths without room are tried again when the
 * prefix has lost paths, not when others have, and ever more rarely.
 */
static void
a_group_of_dynamic_peers_has_one_share(void **state)
{
	enum { ROOM = 32768, SECONDS = 16 };
	static struct model m;
	struct shard *s;
	unsigned tries = 0;

	importers_begin(&m, 1);
	s = m.shards.at[0];
	for (uint16_t i = 1; i <= REFLECTORS; i++) {
		struct shard_peer p;

		assert_true(shard_peer_peek(s, (struct peer_id){i}, &p));
		p.dynamic = true;
		p.group_key = GROUP_KEY;
		assert_int_equal(shard_peer_change(s, &p), 0);
	}
	distinguishers(&m, 1, 1000, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).crowded, 0);
	distinguishers(&m, 2, 1000, 100);
	assert_int_equal(instance_counts(&m, 1).imported, ROOM / 2);
	assert_int_equal(instance_counts(&m, 1).crowded, 100);
	assert_int_equal(instance_counts(&m, 1).crowded_by.v, 2);
	for (unsigned prefix = 0; prefix < 2; prefix++) {
		tries = 0;
		for (unsigned i = 0; i < SECONDS; i++) {
			struct rib_nlri n = {.prefix = prefix_at(1 - prefix), .rd = {1000}};

			m.rigs[0].now_ns += UINT64_C(1000000000);
			if (i % 2 == 0)
				announce(&m, 1, 1000, 1 - prefix, 1);
			else
				rig_update_in(
					&m.rigs[0], m.vpn_family, 1, NULL, &n, 1, m.rigs[0].now_ns);
			rig_put(&m.rigs[0]);
			while (instance_counts(&m, 1).crowded > 0 && rig_turn(&m.rigs[0]))
				;
			tries += instance_counts(&m, 1).crowded == 0;
			settle(&m);
		}
		if (prefix == 0)
			assert_int_equal(tries, 0);
	}
	assert_in_range(tries, 2, SECONDS / 3);
	importers_end(&m);
}

/* A lost peer and a removed instance go although changes of a crowded prefix always wait. */
static void
nothing_waits_for_a_crowd_of_others(void **state)
{
	static struct model m;
	struct shard *s;
	unsigned waited = 0, idle = 0, instances = 0;

	importers_begin(&m, 1);
	s = m.shards.at[0];
	distinguishers(&m, 1, 1000, 8000);
	distinguishers(&m, 2, 1000, 100);
	rig_event(&m.rigs[0], RIB_SESSION_DOWN, 2);
	m.up[1] = false;
	settle(&m);
	for (unsigned i = 0; i < 2000 && waited < 5; i++) {
		uint64_t before = instance_counts(&m, 1).imported;

		announce(&m, 1, 20000 + i, 0, 1);
		rig_drain(&m.rigs[0]);
		if (instance_counts(&m, 1).imported != before)
			continue;
		waited++;
		idle += shard_peer_idle(s, (struct peer_id){2});
		instances += shard_instance_idle(s, (struct vrf_id){1});
		assert_int_equal(shard_table_remove(s, m.table[1]), -EBUSY);
	}
	assert_int_equal(waited, 5);
	assert_int_equal(idle, waited);
	assert_int_equal(instances, waited);
	importers_end(&m);
}

/* An instance goes although each turn brings changes of crowded prefixes. */
static void
an_instance_goes_beside_crowds(void **state)
{
	enum { CROWDS = 8 };
	static struct model m;
	struct shard *s;
	unsigned turns = 0;

	importers_begin(&m, 2);
	s = m.shards.at[0];
	for (unsigned rd = 1; rd <= 200; rd++)
		announce(&m, 1, rd, 0, CROWDS);
	settle(&m);
	assert_int_equal(instance_counts(&m, 2).imported, 200 * CROWDS);
	instance_remove(&m, 2);
	for (; !shard_instance_idle(s, (struct vrf_id){2}) && turns < 1000; turns++) {
		announce(&m, 1, 1000 + turns, 0, CROWDS);
		(void)rig_turn(&m.rigs[0]);
	}
	assert_true(turns < 1000);
	assert_int_equal(instance_counts(&m, 2).imported, 0);
	importers_end(&m);
}

/* A change of a crowded prefix is published although another prefix has many changes each turn. */
static void
a_quiet_crowd_is_published_beside_a_busy_one(void **state)
{
	enum { PATHS = 800 };
	static struct model m;
	unsigned turns = 0;
	uint64_t quiet;

	importers_begin(&m, 1);
	for (unsigned rd = 1; rd <= PATHS; rd++)
		announce(&m, 1, rd, 0, 2);
	settle(&m);
	assert_int_equal(instance_counts(&m, 1).imported, 2 * PATHS);
	announce(&m, 1, PATHS + 1, 1, 1); /* one change of the second prefix */
	do {
		struct rib_nlri n[PATHS / 4];
		struct prefix p = prefix_at(1);
		struct dest_view v;
		struct route r = {.there = true, .label = 20, .targets = 1, .hops = 1};
		union leak_attrs a;

		r.serial = 2 + turns % 100;
		attrs_make(&r, 0, &a);
		for (unsigned i = 0; i < PATHS / 4; i++)
			n[i] = (struct rib_nlri){
				.prefix = prefix_at(0), .label = 20, .rd = {1 + i}};
		rig_update_in(&m.rigs[0], m.vpn_family, 1, &a.a, n, PATHS / 4, m.rigs[0].now_ns);
		rig_put(&m.rigs[0]);
		(void)rig_turn(&m.rigs[0]);
		assert_true(dest_peek_best(table_of(&m, m.table[1], 1),
			dest_find(table_of(&m, m.table[1], 1), &p), &v));
		quiet = v.paths->count + v.behind;
	} while (quiet == PATHS && ++turns < 1000);
	assert_int_equal(quiet, PATHS + 1);
	importers_end(&m);
}

/* Processor time of distinguishers(), in ns. */
static uint64_t
time_of_more(struct model *m, unsigned first, unsigned count)
{
	struct timespec begun, end;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
	distinguishers(m, 1, first, count);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	return (uint64_t)(end.tv_sec - begun.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec -
	       (uint64_t)begun.tv_nsec;
}

/*
 * Within a plan, too, changes of a crowded prefix are published together. A path held for the plan
 * goes when a usable path is imported.
 */
static void
a_plan_publishes_imports_together(void **state)
{
	static struct model m;
	struct route own = {.there = true, .serial = 7, .hops = 1};
	uint64_t without, within;
	struct shard *s;

	importers_begin(&m, 1);
	s = m.shards.at[0];
	m.hop_up[1][0] = true;
	for (unsigned h = 0; h < HOPS; h++) {
		m.hop_up[0][h] = false;
		hop_tell(&m, 0, h);
	}
	for (unsigned i = 0; i < CES; i++) {
		m.in[1].up[i] = true;
		rig_up(&m.rigs[0], ce_peer(1, i), 65000, 50 + i, true);
	}
	update(&m, ce_peer(1, 0), 1, 0, &own, 0, 1);
	without = time_of_more(&m, 1000, 4000);
	for (unsigned i = 0; i < CES; i++) {
		shard_plan_begin(s, (struct peer_id){ce_peer(1, i)}, m.family, 1, true);
		shard_peer_import(s, (struct peer_id){ce_peer(1, i)}, m.family, policy_deny_all());
	}
	update(&m, ce_peer(1, 0), 1, 0, &own, 0, 1);
	settle(&m);
	assert_int_equal(shard_held(s), 1);
	within = time_of_more(&m, 5000, 4000); /* not usable */
	assert_int_equal(instance_counts(&m, 1).imported, 8000);
	assert_int_equal(shard_held(s), 1);
	if (within > 5 * without)
		fail_msg("%llu ns within a plan, %llu before", (unsigned long long)within,
			(unsigned long long)without);
	for (unsigned h = 0; h < HOPS; h++) {
		m.hop_up[0][h] = true;
		hop_tell(&m, 0, h);
	}
	distinguishers(&m, 1, 9000, 800);
	assert_int_equal(instance_counts(&m, 1).imported, 8800);
	assert_int_equal(shard_held(s), 0);
	for (unsigned i = 0; i < CES; i++)
		shard_plan_done(s, (struct peer_id){ce_peer(1, i)}, m.family);
	importers_end(&m);
}

/* A peer announces one route with ever new targets: the memory stays bounded, and instances still find their routes. */
static void
new_targets_need_bounded_memory(void **state)
{
	enum { ROUNDS = 4000, EACH = 100 };
	struct route r = {.there = true, .serial = 1, .targets = 1, .hops = 1};
	static struct model m;
	struct arena *arena;
	union leak_attrs a;
	size_t before;

	model_begin(&m, 1, false);
	arena = m.rigs[0].arena;
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	update(&m, 1, 0, 1, &r, 0, 1);
	settle(&m);
	before = arena_bytes(arena);
	r.targets = 0;
	attrs_make(&r, 0, &a);
	a.a.ext_community_count = EACH;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct rib_nlri n = {.prefix = prefix_at(1), .rd = {1}, .label = 20};

		for (unsigned i = 0; i < EACH; i++)
			ext_community_put(target_at(TARGETS + round * EACH + i),
				a.a.var + a.a.as_path_len + 8 * i);
		attr_set_derive(&a.a);
		rig_update_in(&m.rigs[0], m.vpn_family, 1, &a.a, &n, 1, m.rigs[0].now_ns);
	}
	settle(&m);
	assert_true(arena_bytes(arena) < before + (12u << 20));
	m.in[2] = (struct model_instance){.exists = true, .label = 17, .import = 1};
	instance_set(&m, 2);
	settle(&m);
	assert_int_equal(table_count(&m, m.table[2]), 1);
	model_end(&m);
}

#ifndef KEEL_SANITIZED /* RLIMIT_AS */
/* An instance without memory for its targets: the policies of the call count, and nothing else. */
static void
policies_change_also_without_memory(void **state)
{
	const struct route r = {.there = true, .serial = 1, .targets = 1, .hops = 1};
	struct rlimit old, low;
	static struct model m;
	struct shard_instance i = {.vrf = {1},
		.label = 16,
		.import_count = 1u << 27, /* 1 GiB, never read */
		.import_policy = policy_deny_all(),
		.export_policy = policy_deny_all()};

	model_begin(&m, 1, false);
	m.in[1] = (struct model_instance){.exists = true, .label = 16, .import = 1};
	instance_set(&m, 1);
	settle(&m);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	low = old;
	low.rlim_cur = address_space() + (256u << 20);
	assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
	assert_int_equal(shard_instance_set(m.shards.at[0], &i), -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	m.up[0] = true;
	rig_up(&m.rigs[0], 1, RIG_OWN_ASN, 1, false);
	update(&m, 1, 0, 1, &r, 0, 1);
	settle(&m);
	assert_int_equal(table_count(&m, m.table[1]), 0);
	instance_set(&m, 1);
	settle(&m);
	assert_int_equal(table_count(&m, m.table[1]), 1);
	model_end(&m);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(a_target_moves_without_a_gap),
		one_thread_test(a_distinguisher_changes_without_a_gap),
		one_thread_test(refused_routes_go),
		one_thread_test(a_target_goes_with_its_routes),
		one_thread_test(routes_without_an_instance_are_found),
		one_thread_test(many_distinguishers_of_one_prefix),
		one_thread_test(a_crowded_prefix_costs_no_more_for_each_path),
		one_thread_test(no_peer_takes_all_paths_of_a_prefix),
		one_thread_test(a_group_of_dynamic_peers_has_one_share),
		one_thread_test(nothing_waits_for_a_crowd_of_others),
		one_thread_test(an_instance_goes_beside_crowds),
		one_thread_test(a_quiet_crowd_is_published_beside_a_busy_one),
		one_thread_test(a_plan_publishes_imports_together),
		one_thread_test(new_targets_need_bounded_memory),
#ifndef KEEL_SANITIZED
		one_thread_test(policies_change_also_without_memory),
#endif
		one_thread_test(steps_follow_the_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
