/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes between VPN tables and instances against an oracle: random steps change instances, targets,
 * routes, sessions and next hops; the oracle computes the paths of each table
 * from the sources alone. A follower of the journal must know each table of an instance.
 *
 * KEEL_LEAK_SEEDS: number of runs of 2,500 steps (default 4).
 */
#include "rib/leak.h"
#include "tests/lpm/one_thread.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>

#define INSTANCES 5u /* vrf 1 to 5 */
#define CES 2u /* sessions of an instance: peer 10 * vrf + 1, + 2 */
#define REFLECTORS 2u /* peers 1 and 2 */
#define FOREIGN_RDS 3u /* RDs 1 to 3; instances have RDs from 4 on */
#define PREFIXES 300u
#define TARGETS 6u
#define HOPS 3u
#define PATHS_MAX 64u

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
	struct rig rig;
	struct table_id vpn, table[INSTANCES + 1];
	struct model_instance in[INSTANCES + 1];
	struct route remote[REFLECTORS][FOREIGN_RDS][PREFIXES];
	bool up[REFLECTORS], refreshing[REFLECTORS];
	bool hop_up[INSTANCES + 1][HOPS], hop_asked[INSTANCES + 1][HOPS],
		hop_owed[INSTANCES + 1][HOPS];
	uint32_t serial;
	bool only; /* shard_vpn_imported_only() */
	const struct policy *policy[3]; /* NULL, deny-all, a preference for odd prefixes */
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

static struct prefix
prefix_at(unsigned i)
{
	return prefix_from_v4(0x0a000000u + (i << 8), 24);
}

static unsigned
prefix_index(const struct prefix *p)
{
	return (prefix_v4(p) - 0x0a000000u) >> 8;
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

static const struct policy *
policy_odd(void)
{
	struct policy_prefix_list *l;
	struct policy_builder *b;
	struct policy *p;

	assert_int_equal(policy_prefix_list_create(&l), 0);
	for (unsigned i = 1; i < PREFIXES; i += 2) {
		struct prefix x = prefix_at(i);

		assert_int_equal(policy_prefix_list_add(l, true, &x, 24, 24), 0);
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

/* ---- the oracle ---- */

/* False: policy denies. */
static bool
policy_run(unsigned policy, unsigned prefix, struct described *d)
{
	if (policy == 1 || (policy == 2 && prefix % 2 == 0))
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

/* The exported path of an instance. False: no path. */
static bool
exported(const struct model *m, unsigned vrf, unsigned prefix, struct described *out)
{
	const struct model_instance *x = &m->in[vrf];
	const struct route *r;
	uint16_t peer;

	if (!x->exists || x->rd == 0 || x->label == RIB_LABEL_NONE)
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
	return policy_run(x->export_policy, prefix, out);
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
				policy_run(x->import_policy, prefix, &d))
				out[n++] = d;
		}
	}
	for (unsigned v = 1; v <= INSTANCES; v++) {
		struct described d;

		if (v != vrf && exported(m, v, prefix, &d) && (d.targets & x->import) != 0 &&
			policy_run(x->import_policy, prefix, &d))
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
read_paths(const struct model *m, struct table_id table, struct dest_id id, struct described *out)
{
	static union {
		struct path_set set;
		uint8_t room[sizeof(struct path_set) + PATHS_MAX * sizeof(struct rib_path)];
	} room;
	struct dest_view v;
	unsigned n = 0;

	if (id.v == DEST_NONE ||
		!dest_peek_all(shard_table(m->rig.shard, table), id, &v, &room.set, PATHS_MAX) ||
		v.paths == NULL)
		return 0;
	for (; n < v.paths->count; n++) {
		const struct rib_path *p = &v.paths->path[n];
		const struct attr_set *a = attr_of(shard_attrs(m->rig.shard), p->accepted);
		struct leak_origin o = {{0}, {0}, 0};

		assert_non_null(a);
		if (shard_path_origin(m->rig.shard, p, &o))
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
	struct journal *j = shard_journal(m->rig.shard);
	struct journal_entry e[256];
	int n;

	while ((n = journal_read(j, m->cursor, e, 256)) > 0) {
		for (int i = 0; i < n; i++) {
			const struct dest_table *t = shard_table(m->rig.shard, e[i].table);
			struct described d[PATHS_MAX];
			struct vrf_id vrf;
			enum family family;
			struct dest_view v;
			uint64_t sum = 0;
			unsigned count;

			shard_table_key(m->rig.shard, e[i].table, &vrf, &family);
			if (vrf.v == 0 || !dest_peek(t, e[i].dest, &v))
				continue;
			count = read_paths(m, e[i].table, e[i].dest, d);
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
	const struct dest_table *t = shard_table(m->rig.shard, m->table[vrf]);
	const struct model_instance *x = &m->in[vrf];
	struct shard_instance_counts counts;
	unsigned missing = 0, imported = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = prefix_at(i);
		struct described want[PATHS_MAX], got[PATHS_MAX];
		unsigned wants = expected_paths(m, vrf, i, want), lacks;
		unsigned gots = read_paths(m, m->table[vrf], dest_find(t, &p), got);
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
	shard_instance_counts(m->rig.shard, (struct vrf_id){(uint16_t)vrf}, &counts);
	assert_int_equal(counts.imported, imported);
	m->imported_seen += imported;
	if (missing > 0) {
		/* refused, and no room */
		assert_true(dest_count(t) >= x->max_routes);
		assert_true(counts.refused > 0);
		m->refused_seen++;
	}
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
	struct dest_table *t = shard_table(m->rig.shard, m->vpn);
	unsigned exports = 0, total = 0, dests = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix p = prefix_at(i);

		for (unsigned rd = 0; rd < FOREIGN_RDS && (!m->only || any_instance(m)); rd++) {
			struct described got[PATHS_MAX];
			unsigned n = read_paths(
				m, m->vpn, dest_find_rd(t, (struct vpn_rd){1 + rd}, &p), got);
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
			n = read_paths(
				m, m->vpn, dest_find_rd(t, (struct vpn_rd){m->in[v].rd}, &p), got);
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
		assert_int_equal(dest_count(t), dests + exports);
	for (unsigned v = 1; v <= INSTANCES; v++) {
		struct shard_instance_counts counts;

		shard_instance_counts(m->rig.shard, (struct vrf_id){(uint16_t)v}, &counts);
		total += (unsigned)counts.exported;
	}
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
	m->hop_asked[vrf][hop] = !msg->unwatch;
	m->hop_owed[vrf][hop] = !msg->unwatch;
}

static void
hop_tell(struct model *m, unsigned vrf, unsigned hop)
{
	m->hop_owed[vrf][hop] = false;
	rig_tell(&m->rig, (uint16_t)vrf, 0x0a630000u + 256 * vrf + hop, m->hop_up[vrf][hop],
		m->hop_up[vrf][hop], 0);
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

static void
settle(struct model *m)
{
	bool owed = true;

	while (owed) {
		rig_settle(&m->rig);
		owed = false;
		for (unsigned v = 0; v <= INSTANCES; v++)
			for (unsigned h = 0; h < HOPS; h++)
				owed |= m->hop_owed[v][h];
		hops_answer(m);
	}
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

	for (unsigned i = 0; i < count; i++)
		n[i] = (struct rib_nlri){.prefix = prefix_at(first + i),
			.rd = {rd},
			.label = rd != 0 ? r->label : RIB_LABEL_NONE};
	if (r->there)
		attrs_make(r, vrf, &a);
	rig_update_in(&m->rig, rd != 0 ? FAMILY_VPNV4_UNICAST : FAMILY_IPV4_UNICAST, peer,
		r->there ? &a.a : NULL, n, count, m->rig.now_ns);
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
	assert_int_equal(shard_originate(m->rig.shard, (struct vrf_id){(uint16_t)vrf},
				 FAMILY_IPV4_UNICAST, &p, r.there ? &a.a : NULL),
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
	if (*up) {
		rig_up(&m->rig, peer, vrf == 0 ? RIG_OWN_ASN : 65000, peer, vrf != 0);
		return;
	}
	rig_event(&m->rig, RIB_SESSION_DOWN, peer);
	if (vrf != 0)
		routes_end(m->in[vrf].ce[i], false);
	for (unsigned rd = 0; vrf == 0 && rd < FOREIGN_RDS; rd++)
		routes_end(m->remote[i][rd], false);
	m->refreshing[i] &= vrf != 0;
}

static void
vpn_event(struct model *m, enum rib_record_kind kind, uint16_t peer)
{
	struct rib_record head = {.kind = (uint8_t)kind,
		.family = FAMILY_VPNV4_UNICAST,
		.peer = {peer},
		.received_ns = m->rig.now_ns};

	(void)rig_record(&m->rig, &head, 0);
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

	assert_int_equal(shard_instance_set(m->rig.shard, &i), 0);
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
		assert_int_equal(
			shard_instance_remove(m->rig.shard, (struct vrf_id){(uint16_t)vrf}), 0);
		x->exists = false;
		x->rd = 0;
		return;
	}
	if (!x->exists || what == 0) {
		x->rd = any_rd(m);
		x->label = below(6) == 0 ? RIB_LABEL_NONE : 16 + below(1000);
	}
	if (!x->exists || what == 1 || what == 2)
		x->import = below(1u << TARGETS);
	if (!x->exists || what == 3)
		x->export = 1u << below(TARGETS) | 1u << below(TARGETS);
	if (what == 4)
		x->import ^= 1u << below(TARGETS);
	if (what == 5)
		x->import_policy = below(3);
	if (what == 6)
		x->export_policy = below(3);
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
		assert_int_equal(
			shard_instance_remove(m->rig.shard, (struct vrf_id){(uint16_t)from}), 0);
		m->in[from].exists = false;
		m->in[from].rd = 0;
	} else {
		m->in[from].rd = m->in[to].rd;
		instance_set(m, from);
	}
	m->in[to].rd = rd;
	instance_set(m, to);
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
	/* refused imports are repeated after a second */
	m->rig.now_ns += 2000000000u;
	settle(m);
	for (unsigned v = 1; v <= INSTANCES; v++)
		compare_instance(m, v);
	compare_vpn(m);
	assert_int_equal(shard_failures(m->rig.shard), 0);
}

static void
model_begin(struct model *m)
{
	memset(m, 0, sizeof(*m));
	rig_mode = RIG_V4;
	rig_init(&m->rig, true);
	m->rig.asked = asked;
	m->rig.ctx = m;
	m->policy[1] = policy_deny_all();
	m->policy[2] = policy_odd();
	assert_int_equal(
		shard_table_add(m->rig.shard, VRF_DEFAULT, FAMILY_VPNV4_UNICAST, &m->vpn), 0);
	for (unsigned p = 0; p < REFLECTORS; p++)
		rig_peer(&m->rig, (uint16_t)(1 + p), RIG_OWN_ASN, false, false);
	for (unsigned v = 1; v <= INSTANCES; v++) {
		assert_int_equal(shard_table_add(m->rig.shard, (struct vrf_id){(uint16_t)v},
					 FAMILY_IPV4_UNICAST, &m->table[v]),
			0);
		for (unsigned i = 0; i < CES; i++) {
			struct shard_peer p = {.id = {ce_peer(v, i)},
				.vrf = {(uint16_t)v},
				.addr = rig_peer_addr(ce_peer(v, i)),
				.external = true,
				.asn = 65000};

			assert_int_equal(shard_peer_add(m->rig.shard, &p), 0);
			shard_peer_import(
				m->rig.shard, p.id, FAMILY_IPV4_UNICAST, policy_accept_all());
		}
	}
	for (unsigned v = 0; v <= INSTANCES; v++)
		for (unsigned h = 0; h < HOPS; h++)
			m->hop_up[v][h] = below(3) > 0;
	assert_int_equal(journal_subscribe(shard_journal(m->rig.shard), &m->cursor), 0);
}

/* After the end of all sources no path, attribute set or peer is left. */
static void
model_end(struct model *m)
{
	for (unsigned v = 0; v <= INSTANCES; v++)
		for (unsigned i = 0; i < 2; i++) {
			uint16_t peer = v == 0 ? (uint16_t)(1 + i) : ce_peer(v, i);

			if (v == 0 ? m->up[i] : m->in[v].up[i])
				rig_event(&m->rig, RIB_SESSION_DOWN, peer);
		}
	for (unsigned v = 1; v <= INSTANCES; v++) {
		struct vrf_id vrf = {(uint16_t)v};

		for (unsigned i = 0; i < PREFIXES; i++) {
			struct prefix p = prefix_at(i);

			assert_int_equal(
				shard_originate(m->rig.shard, vrf, FAMILY_IPV4_UNICAST, &p, NULL),
				0);
		}
		if (m->in[v].exists) {
			assert_int_equal(shard_table_remove(m->rig.shard, m->table[v]), -EBUSY);
			assert_int_equal(shard_instance_remove(m->rig.shard, vrf), 0);
		}
	}
	settle(m);
	assert_int_equal(dest_count(shard_table(m->rig.shard, m->vpn)), 0);
	for (unsigned v = 1; v <= INSTANCES; v++) {
		assert_int_equal(shard_table_remove(m->rig.shard, m->table[v]), 0);
		assert_true(shard_instance_idle(m->rig.shard, (struct vrf_id){(uint16_t)v}));
		assert_int_equal(dest_count(shard_table(m->rig.shard, m->table[v])), 0);
		for (unsigned i = 0; i < CES; i++)
			assert_int_equal(
				shard_peer_remove(m->rig.shard, (struct peer_id){ce_peer(v, i)}),
				0);
	}
	for (unsigned i = 0; i < 100 && attr_table_count(shard_attrs(m->rig.shard)) > 0; i++)
		settle(m);
	assert_int_equal(attr_table_count(shard_attrs(m->rig.shard)), 0);
	policy_destroy((struct policy *)(uintptr_t)m->policy[2]);
	rig_fini(&m->rig);
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
		model_begin(&m);
		m.only = seed % 2 == 0;
		shard_vpn_imported_only(m.rig.shard, m.only);
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
			else
				step_hop(&m);
			if (below(4) == 0)
				rig_put(&m.rig);
			for (unsigned i = below(4); i > 0; i--)
				(void)rig_turn(&m.rig);
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

/* Two instances change to another target in one commit: the importer keeps each route throughout. */
static void
a_target_moves_without_a_gap(void **state)
{
	static struct model m;
	const unsigned from = 2, orders[][2] = {{1, 2}, {2, 1}};
	struct dest_table *t;

	model_begin(&m);
	for (unsigned v = 1; v <= 2; v++)
		m.in[v] = (struct model_instance){.exists = true,
			.rd = 3 + v,
			.label = 15 + v,
			.import = v == from ? 0 : 1,
			.export = v == from ? 1 : 0};
	for (unsigned v = 1; v <= 2; v++)
		instance_set(&m, v);
	for (unsigned i = 0; i < PREFIXES; i++) {
		const struct route r = {.there = true, .serial = 1 + i, .hops = 1};
		struct prefix p = prefix_at(i);
		union leak_attrs a;

		attrs_make(&r, from, &a);
		assert_int_equal(shard_originate(m.rig.shard, (struct vrf_id){from},
					 FAMILY_IPV4_UNICAST, &p, &a.a),
			0);
	}
	settle(&m);
	t = shard_table(m.rig.shard, m.table[1]);
	assert_int_equal(dest_count(t), PREFIXES);
	for (unsigned step = 0; step < 6; step++) {
		m.in[from].export = m.in[1].import = step % 2 == 0 ? 2 : 1;
		for (unsigned k = 0; k < 2; k++)
			instance_set(&m, orders[step / 2 % 2][k]);
		for (bool more = true; more;) {
			more = rig_turn(&m.rig);
			for (unsigned i = 0; i < PREFIXES; i++) {
				struct prefix p = prefix_at(i);
				struct described d[PATHS_MAX];

				assert_int_equal(
					read_paths(&m, m.table[1], dest_find(t, &p), d), 1);
			}
		}
		settle(&m);
	}
	model_end(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(a_target_moves_without_a_gap),
		one_thread_test(steps_follow_the_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
