/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The export stream against a model: the routes decoded by a receiver equal the result of policy
 * and rules on the Loc-RIB. A real shard, a real journal (small, so that consumers are lapped),
 * encode buffers of random size.
 */
#include "control/export/update_group_impl.h"

#include "rib/shard/trace.h"
#include "tests/control/update_group_rig.h"
#include "tests/lpm/one_thread.h"
#include "tests/lpm/size.h"

#include <pthread.h>
#include <stdatomic.h>

#define PREFIXES 90u
#define PEERS 5u /* 1: the member, 2 and 3 external, 4 internal */
#define POOL 6u
#define MEMBER 1u
#define PEER_AS(p) ((p) == 4 ? RIG_OWN_ASN : 65000u + (p))
#define OWN_ADDR 0xc0000201u
#define NO_EXPORT 0xffffff01u
#define NO_ADVERTISE 0xffffff02u
#define MARKED 0xfc00000du /* 64512:13 */

/* ---- policies, twice: as configuration and for the model ---- */

enum export_policy {
	POLICY_NONE,
	POLICY_ALL,
	POLICY_DENY,
	POLICY_THIRD,
	POLICY_MED,
	POLICY_MARKED,
	POLICY_FEW, /* the prefixes that POLICY_THIRD denies: the group is sparse */
	POLICY_COUNT
};
static const char *const policy_of[POLICY_COUNT] = {
	NULL, "accept-all", "deny-all", "third", "med", "marked", "few"};

static struct policy_set *
policies_begin(const struct prefix *prefix)
{
	return policies_compile(json_pack("{s:[{s:s,s:o}], s:[{s:s,s:[{s:s,s:s}]}], s:["
					  "{s:s,s:[{s:i,s:s,s:{s:s}},{s:i,s:s,s:{}}]},"
					  "{s:s,s:[{s:i,s:s,s:{},s:{s:i}}]},"
					  "{s:s,s:[{s:i,s:s,s:{s:s}},{s:i,s:s,s:{},s:{s:i}}]},"
					  "{s:s,s:[{s:i,s:s,s:{s:s}}]}]}",
		"prefix_lists", "name", "thirds", "entries", thirds(prefix, PREFIXES),
		/**/ "community_lists", "name", "marks", "entries", "action", "permit", "community",
		"64512:13",
		/**/ "route_policies", "name", "third", "nodes", "seq", 10, "action", "deny",
		"match", "prefix_list", "thirds", "seq", 20, "action", "permit", "match",
		/**/ "name", "med", "nodes", "seq", 10, "action", "permit", "match", "set", "med",
		77,
		/**/ "name", "marked", "nodes", "seq", 10, "action", "deny", "match",
		"community_list", "marks", "seq", 20, "action", "permit", "match", "set",
		"local_pref", 300,
		/**/ "name", "few", "nodes", "seq", 10, "action", "permit", "match", "prefix_list",
		"thirds"));
}

/* ---- the world ---- */

struct world {
	struct rig rig;
	unsigned reader;
	struct adj_records *records;
	struct policy_set *policies;
	struct update_groups *groups;
	struct update_groups_config groups_config;
	struct update_member *group;
	struct update_member_config config;
	bool external;
	enum export_policy policy;
	struct prefix prefix[PREFIXES];
	union rig_attrs pool[PEERS][POOL];
	int announced[PEERS][PREFIXES]; /* index into the pool; -1: not announced */

	/* the receiver */
	struct route route[PREFIXES];
	bool end_of_rib, refreshing;
	unsigned borr, eorr, marks[MARK_SETTLED + 1], covered;
	bool must_cover;
};

static void
attrs_random(union rig_attrs *out, unsigned peer)
{
	uint32_t path[5], hops = below(4);
	uint8_t *p;

	path[0] = PEER_AS(peer);
	for (unsigned i = 1; i < 5; i++)
		path[i] = 100 + below(3);
	rig_attrs_make(out, path + (peer == 4), hops + (peer != 4), 0x0a0a0000u + peer);
	out->a.origin = (uint8_t)below(3);
	if (below(2)) {
		out->a.has |= ATTR_HAS_MED;
		out->a.med = 70 + below(10);
	}
	if (peer == 4) {
		out->a.has |= ATTR_HAS_LOCAL_PREF;
		out->a.local_pref = 90 + below(20);
	}
	p = out->a.var + out->a.as_path_len;
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t choice[] = {
			NO_EXPORT, NO_ADVERTISE, MARKED, 0xfc000001u, 0xfc000002u};
		uint32_t c = choice[below(5)];

		if (below(5) > 0)
			continue;
		*p++ = (uint8_t)(c >> 24);
		*p++ = (uint8_t)(c >> 16);
		*p++ = (uint8_t)(c >> 8);
		*p++ = (uint8_t)c;
		out->a.community_count++;
	}
	/* some of the communities are not transitive */
	for (unsigned i = below(4); i > 0; i--, p += 8) {
		memcpy(p,
			below(2) ? "\x00\x02\xfc\x00\x00\x00\x00\x01"
				 : "\x40\x04\xfc\x00\x00\x00\x00\x02",
			8);
		p[7] = (uint8_t)i;
		out->a.ext_community_count++;
	}
	if (peer == 4 && below(2)) { /* reflected */
		memcpy(p, "\x0a\x0a\x0a\x0a", 4);
		out->a.cluster_count = 1;
		out->a.has |= ATTR_HAS_ORIGINATOR_ID;
		out->a.originator_id = 0x0a090909;
	}
}

static void
world_begin(struct world *w, bool external, uint32_t journal_capacity)
{
	memset(w, 0, sizeof(*w));
	rig_init_journal(&w->rig, false, journal_capacity);
	assert_int_equal(qsbr_register(w->rig.readers, &w->reader), 0);
	assert_int_equal(adj_records_create(w->rig.arena, &w->records), 0);
	prefixes_random(w->prefix, 0, PREFIXES);
	w->policies = policies_begin(w->prefix);
	memset(w->announced, 0xff, sizeof(w->announced));
	for (unsigned p = 1; p < PEERS; p++) {
		rig_peer(&w->rig, (uint16_t)p, PEER_AS(p), p != 4, true);
		shard_peer_import(w->rig.shard, (struct peer_id){(uint16_t)p}, FAMILY_IPV4_UNICAST,
			policy_accept_all());
		rig_up(&w->rig, (uint16_t)p, PEER_AS(p), p, p != 4);
	}
	for (unsigned p = 0; p < PEERS; p++) {
		for (unsigned i = 0; i < POOL; i++)
			attrs_random(&w->pool[p][i], p == 0 ? 4 : p);
	}
	w->pool[0][0] = w->pool[2][0]; /* the same set from two kinds of source */
	w->pool[4][0] = w->pool[2][0];
	w->groups_config = (struct update_groups_config){
		.arena = w->rig.arena,
		.shard = w->rig.shard,
		.records = w->records,
		.batch = below(2) ? 0 : 1 + below(12),
	};
	w->external = external;
	w->config = (struct update_member_config){
		.id = {MEMBER},
		.rules = {.table = w->rig.table,
			.family = FAMILY_IPV4_UNICAST,
			.kind = external ? UPDATE_EXTERNAL : UPDATE_INTERNAL,
			.own_as = RIG_OWN_ASN,
			.local_as = RIG_OWN_ASN,
			.peer_as = external ? PEER_AS(MEMBER) : RIG_OWN_ASN,
			.cluster_id = RIG_ROUTER_ID,
			.encode = {.as4 = true, .send_communities = true},
			.peer = addr_from_v4(0xc6336401u)},
		.next_hop = addr_from_v4(OWN_ADDR),
	};
}

static void
policy_set_to(struct world *w, enum export_policy p)
{
	w->policy = p;
	w->config.rules.policy =
		policy_of[p] != NULL ? policy_set_find(w->policies, policy_of[p]) : NULL;
	if (policy_of[p] != NULL)
		assert_non_null(w->config.rules.policy);
	if (w->group != NULL)
		update_group_policy(w->group, w->config.rules.policy);
}

static void
group_begin(struct world *w)
{
	qsbr_online(w->rig.readers, w->reader);
	assert_int_equal(update_groups_create(&w->groups_config, &w->groups), 0);
	assert_int_equal(update_group_join(w->groups, &w->config, &w->group), 0);
	qsbr_offline(w->rig.readers, w->reader);
}

static void
world_end(struct world *w)
{
	assert_false(update_group_dismantle(update_group_leave(w->group), UINT64_MAX));
	update_groups_destroy(w->groups);
	assert_int_equal(adj_records_count(w->records), 0);
	adj_records_destroy(w->records);
	policy_set_free(w->policies);
	qsbr_unregister(w->rig.readers, w->reader);
	rig_fini(&w->rig);
}

/* ---- the receiver ---- */

static struct route *
route_of(struct world *w, const struct prefix *p)
{
	return &w->route[prefix_index(w->prefix, PREFIXES, p)];
}

static void
on_announced(void *ctx, const struct nlri *n, const struct attr_set *a)
{
	route_set(route_of(ctx, &n->prefix), a);
}

static void
on_withdrawn(void *ctx, const struct nlri *n)
{
	route_of(ctx, &n->prefix)->present = false;
}

static void
on_end_of_rib(void *ctx)
{
	struct world *w = ctx;

	assert_false(w->end_of_rib);
	w->end_of_rib = true;
}

static void
on_refresh(void *ctx, uint8_t subtype)
{
	struct world *w = ctx;

	assert_true(w->end_of_rib);
	routes_refresh(w->route, PREFIXES, &w->refreshing, subtype);
	if (subtype == REFRESH_BEGIN)
		w->borr++;
	else
		w->eorr++;
}

static void
check_cover(void *ctx)
{
	struct world *w = ctx;
	unsigned n = 0;

	for (unsigned i = 0; i < PREFIXES; i++)
		n += w->route[i].present;
	if (w->must_cover && n == 0)
		fail_msg("a hole, seed %llu", (unsigned long long)seed);
	w->covered++;
}

static struct receiver_ops
receiver(const struct world *w)
{
	return (struct receiver_ops){.as4 = w->config.rules.encode.as4,
		.external = w->external,
		.announced = on_announced,
		.withdrawn = on_withdrawn,
		.end_of_rib = on_end_of_rib,
		.refresh = on_refresh,
		.after = check_cover};
}

static void
on_mark(void *ctx, enum update_group_mark m)
{
	((struct world *)ctx)->marks[m]++;
}

/* One call of encode. True: more to send. */
static bool
encode(struct world *w, size_t size)
{
	struct group_reader g = {w->rig.readers, w->reader, w->records};
	struct receiver_ops ops = receiver(w);
	bool others, more = encode_once(&g, w->group, size, on_mark, &ops, w, &others);

	assert_int_equal(member_error(w->group), 0);
	return more;
}

static void
drain(struct world *w)
{
	rig_settle(&w->rig);
	update_groups_gather(w->groups, 0, false);
	while (encode(w, BGP_MSG_MAX + below(6000)))
		;
}

/* ---- the model ---- */

static bool
has_community(const struct attr_set *a, uint32_t c)
{
	const uint8_t *p = attr_communities(a);

	for (unsigned i = 0; i < a->community_count; i++) {
		if (((uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
			    (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3]) == c)
			return true;
	}
	return false;
}

/* Expected route of the member for prefix `i`. False: no route. */
static bool
model(const struct world *w, unsigned i, union rig_attrs *out)
{
	bool external = w->external, med = false;
	const struct attr_set *a;
	struct dest_view v;
	struct dest_id id;
	uint32_t peer;

	id = dest_find(shard_table(w->rig.shard, w->rig.table), &w->prefix[i]);
	if (id.v == DEST_NONE || !dest_peek(shard_table(w->rig.shard, w->rig.table), id, &v) ||
		v.paths == NULL || v.paths->eligible == 0)
		return false;
	peer = v.paths->path[0].peer.v;
	assert_true(w->announced[peer][i] >= 0);
	a = &w->pool[peer][w->announced[peer][i]].a;
	if (peer == MEMBER || (external && w->policy == POLICY_NONE) || (!external && peer == 4))
		return false;
	if (has_community(a, NO_ADVERTISE) || (external && has_community(a, NO_EXPORT)))
		return false;
	if (w->policy == POLICY_DENY || (w->policy == POLICY_THIRD && i % 3 == 0) ||
		(w->policy == POLICY_FEW && i % 3 != 0) ||
		(w->policy == POLICY_MARKED && has_community(a, MARKED)))
		return false;
	memset(out, 0, sizeof(*out));
	if (external)
		assert_int_equal(attr_set_prepend(a, RIG_OWN_ASN, 1, &out->a, sizeof(*out)), 0);
	else
		memcpy(out, a, attr_set_size(a));
	if (w->policy == POLICY_MED) {
		med = true; /* also with a value of 77 before */
		out->a.has |= ATTR_HAS_MED;
		out->a.med = 77;
	}
	if (w->policy == POLICY_MARKED) {
		out->a.has |= ATTR_HAS_LOCAL_PREF;
		out->a.local_pref = 300;
	}
	if (external) {
		uint8_t *ext = out->a.var + (attr_ext_communities(&out->a) - out->a.var);
		unsigned kept = 0;

		for (unsigned k = 0; k < out->a.ext_community_count; k++) {
			if (ext[8 * k] < 0x40)
				memmove(ext + 8 * kept++, ext + 8 * k, 8);
		}
		out->a.ext_community_count = (uint16_t)kept;
		out->a.cluster_count = 0; /* the last part of the attributes */
		out->a.has &= ~(uint32_t)ATTR_HAS_ORIGINATOR_ID;
		out->a.originator_id = 0;
		out->a.next_hop = addr_from_v4(OWN_ADDR);
		out->a.has &= ~(uint32_t)ATTR_HAS_LOCAL_PREF;
		out->a.local_pref = 0;
		if (!med && peer != 0) {
			out->a.has &= ~(uint32_t)ATTR_HAS_MED;
			out->a.med = 0;
		}
	} else if (!(out->a.has & ATTR_HAS_LOCAL_PREF)) {
		out->a.has |= ATTR_HAS_LOCAL_PREF;
		out->a.local_pref = 100;
	}
	return true;
}

static void
check(struct world *w)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < PREFIXES; i++) {
		char text[PREFIX_TEXT_MAX], path[200], wanted[200];
		const struct attr_set *got = &w->route[i].attrs.a;
		union rig_attrs want;
		bool present = model(w, i, &want);

		count += present;
		prefix_format(&w->prefix[i], text);
		if (present != w->route[i].present)
			fail_msg("%s is %s, seed %llu", text, present ? "missing" : "left over",
				(unsigned long long)seed);
		if (!present)
			continue;
		attr_as_path_format(got, path, sizeof(path));
		attr_as_path_format(&want.a, wanted, sizeof(wanted));
		if (attr_set_size(got) != attr_set_size(&want.a) ||
			memcmp(got, &want.a, attr_set_size(got)) != 0)
			fail_msg("%s: path %s, not %s; has %x/%x med %u/%u pref %u/%u, seed %llu",
				text, path, wanted, got->has, want.a.has, got->med, want.a.med,
				got->local_pref, want.a.local_pref, (unsigned long long)seed);
	}
	assert_int_equal(update_group_advertised(w->group), count);
	assert_true(w->end_of_rib);
	assert_false(w->refreshing);
	assert_int_equal(w->borr, w->eorr);
	assert_int_equal(w->marks[MARK_BORR], w->borr);
	assert_int_equal(w->marks[MARK_EORR], w->eorr);
	assert_int_equal(w->marks[MARK_END_OF_RIB], 1);
}

/* ---- streams ---- */

static void
announce(struct world *w, unsigned peer, unsigned i, unsigned set)
{
	w->announced[peer][i] = (int)set;
	group_rig_say(&w->rig, peer, &w->prefix[i], &w->pool[peer][set].a);
}

static void
withdraw(struct world *w, unsigned peer, unsigned i)
{
	if (w->announced[peer][i] < 0)
		return;
	w->announced[peer][i] = -1;
	group_rig_say(&w->rig, peer, &w->prefix[i], NULL);
}

static void
step(struct world *w)
{
	unsigned peer = below(PEERS), i = below(PREFIXES), what = below(100);

	if (what < 55)
		announce(w, peer, i, below(POOL));
	else if (what < 85)
		withdraw(w, peer, i);
	else if (what < 88)
		policy_set_to(w, (enum export_policy)below(POLICY_COUNT));
	else if (what < 91 && w->end_of_rib)
		update_group_refresh(w->group, true);
	else if (what < 94)
		rig_settle(&w->rig);
	else if (what < 96)
		update_groups_gather(w->groups, below(100) * 1000000ull, below(2));
	else
		encode(w, BGP_MSG_MAX + below(6000));
}

static void
stream(bool external, uint32_t journal_capacity, unsigned steps)
{
	static struct world w;

	world_begin(&w, external, journal_capacity);
	policy_set_to(&w, (enum export_policy)below(POLICY_COUNT));
	for (unsigned n = below(100); n > 0; n--)
		announce(&w, below(PEERS), below(PREFIXES), below(POOL));
	rig_settle(&w.rig);
	group_begin(&w);
	for (unsigned n = 1; n <= steps; n++) {
		step(&w);
		if (below(80) == 0 || n == steps) {
			drain(&w);
			check(&w);
		}
	}
	world_end(&w);
}

static void
test_streams(void **state)
{
	const char *text = getenv("KEEL_TEST_SEED");

	for (unsigned n = 0; n < test_size(200, 600); n++) {
		seed = rng = text != NULL ? strtoull(text, NULL, 0) : 1000 + n;
		stream(n % 3 != 0, n % 2 ? 1024 : 32, 600);
	}
}

/*
 * All prefixes contain the same address, and at least one is always announced: no message may leave
 * the receiver without a route. A single peer, so that neither split horizon nor policy uncovers
 * the address; consumers at any lag, also lapped; refreshes in between.
 */
#define COVERS 5u /* few, so that mostly one or two are present */

static void
cover_stream(uint32_t journal_capacity)
{
	static struct world w;
	unsigned alive = 0, lag = 1 + below(below(3) == 0 ? 200 : 40);

	world_begin(&w, true, journal_capacity);
	for (unsigned i = 0; i < PREFIXES; i++)
		w.prefix[i] = prefix_from_v4(0x0a000000u, (uint8_t)(8 + i % 25));
	memset(w.pool[2][0].a.var + w.pool[2][0].a.as_path_len, 0, 16);
	w.pool[2][0].a.community_count = 0;
	policy_set_to(&w, POLICY_ALL);
	announce(&w, 2, 0, 0);
	alive = 1;
	rig_settle(&w.rig);
	group_begin(&w);
	while (encode(&w, 2 * BGP_MSG_MAX))
		;
	w.must_cover = true;
	for (unsigned n = 0; n < 500; n++) {
		unsigned i = below(COVERS);

		if (w.announced[2][i] < 0) {
			announce(&w, 2, i, 0);
			alive++;
		} else if (alive > 1) {
			withdraw(&w, 2, i);
			alive--;
		}
		if (below(4) == 0)
			rig_settle(&w.rig);
		if (below(lag) == 0)
			encode(&w, BGP_MSG_MAX + below(500));
		if (below(100) == 0)
			update_group_refresh(w.group, true);
	}
	drain(&w);
	for (unsigned i = 0; i < COVERS; i++)
		assert_int_equal(w.route[i].present, w.announced[2][i] >= 0);
	world_end(&w);
}

static void
test_cover(void **state)
{
	const char *text = getenv("KEEL_TEST_SEED");

	for (unsigned n = 0; n < test_size(1000, 3000); n++) {
		seed = rng = text != NULL ? strtoull(text, NULL, 0) : 5000 + n;
		cover_stream(n % 3 == 0 ? 16 : n % 3 == 1 ? 64 : 1024);
	}
}

/* ---- with a shard on another thread ---- */

#define RACE_STEPS thread_turns(200000u, 20000u)

struct race {
	struct world w;
	_Atomic bool over;
};

static void *
race_shard(void *arg)
{
	struct race *r = arg;

	role_enter_rib();
	for (unsigned n = 0; n < RACE_STEPS; n++) {
		unsigned peer = 2 + below(2), i = below(4);

		if (below(2))
			announce(&r->w, peer, i, below(POOL));
		else
			withdraw(&r->w, peer, i);
		if (below(40) == 0)
			rig_settle(&r->w.rig);
	}
	rig_settle(&r->w.rig);
	atomic_store(&r->over, true);
	return NULL;
}

/* Between two batches the receiver's routes equal the Adj-RIB-Out. */
static void
check_adj_out(struct world *w)
{
	struct dest_table *t = shard_table(w->rig.shard, w->rig.table);

	qsbr_online(w->rig.readers, w->reader);
	for (unsigned i = 0; i < 4; i++) {
		struct dest_id id = dest_find(t, &w->prefix[i]);

		if (id.v != DEST_NONE)
			assert_int_equal(
				update_group_advertises(w->group, id), w->route[i].present);
	}
	qsbr_offline(w->rig.readers, w->reader);
}

/* A batch contains a destination twice, changed in between. */
static void
test_race(void **state)
{
	static struct race r;
	struct receiver_ops ops;
	uint8_t buf[3 * BGP_MSG_MAX];
	pthread_t thread;
	bool more, others;
	size_t len;

	seed = rng = 11;
	world_begin(&r.w, true, 64);
	r.w.groups_config.batch = 0;
	policy_set_to(&r.w, POLICY_ALL);
	rig_settle(&r.w.rig);
	group_begin(&r.w);
	ops = receiver(&r.w);
	atomic_store(&r.over, false);
	assert_int_equal(pthread_create(&thread, NULL, race_shard, &r), 0);
	while (!atomic_load(&r.over)) {
		qsbr_online(r.w.rig.readers, r.w.reader);
		len = turn_send(
			r.w.group, buf, sizeof(buf), UINT64_MAX, &more, &others, on_mark, &r.w);
		qsbr_offline(r.w.rig.readers, r.w.reader);
		receive(&ops, &r.w, buf, len);
		if (!more)
			check_adj_out(&r.w);
	}
	pthread_join(thread, NULL);
	drain(&r.w);
	check(&r.w);
	world_end(&r.w);
}

/* ---- entries without a change of the best path ---- */

/* A set for `peer`: fewer hops make the better path. */
static void
set_of_hops(struct world *w, unsigned peer, unsigned set, unsigned hops, bool no_export)
{
	const uint32_t path[4] = {PEER_AS(peer), 100, 101, 102};
	union rig_attrs *a = &w->pool[peer][set];
	uint8_t *c;

	rig_attrs_make(a, path, hops, 0x0a0a0000u + peer);
	if (!no_export)
		return;
	c = a->a.var + a->a.as_path_len;
	c[0] = c[1] = c[2] = 0xff, c[3] = 0x01;
	a->a.community_count = 1;
}

/*
 * Advertised routes; then the best path of a route may no longer be advertised (because of its
 * communities, or because it came from the member), and `turns` batches later a path behind the
 * best path changes. The withdrawal must be sent, whatever part was done before.
 */
static void
aside_case(unsigned taker, uint32_t journal_capacity, unsigned turns)
{
	enum { ROUTES = 8 };
	static struct world w;

	seed = turns;
	rng = 21;
	world_begin(&w, true, journal_capacity);
	w.groups_config.batch = 1;
	policy_set_to(&w, POLICY_ALL);
	for (unsigned set = 0; set < 3; set++)
		set_of_hops(&w, 2, set, 2 + set, false);
	set_of_hops(&w, taker, 0, 1, taker != MEMBER);
	for (unsigned i = 0; i < ROUTES; i++)
		announce(&w, 2, i, 0);
	rig_settle(&w.rig);
	group_begin(&w);
	drain(&w);
	check(&w);
	for (unsigned i = 0; i < ROUTES; i++)
		assert_true(w.route[i].present);
	withdraw(&w, 2, 0); /* among other changes that fill a batch */
	announce(&w, taker, 1, 0);
	withdraw(&w, 2, 2);
	for (unsigned n = 0; n < 20; n++)
		announce(&w, 2, 3 + n % 5, n % 2);
	rig_settle(&w.rig);
	while (turns-- > 0)
		encode(&w, BGP_MSG_MAX);
	announce(&w, 2, 1, 2);
	drain(&w);
	check(&w);
	assert_false(w.route[1].present);
	world_end(&w);
}

/*
 * A withdrawal waits for the last entry, behind many entries without a change of the best path: each
 * of these is read, but not the rest of the window for each.
 */
static void
test_awaited(void **state)
{
	enum { ENTRIES = 300 };
	static struct world w;

	seed = rng = 5;
	world_begin(&w, true, 1024);
	w.groups_config.batch = 0;
	policy_set_to(&w, POLICY_ALL);
	for (unsigned set = 0; set < 3; set++)
		set_of_hops(&w, 2, set, 2 + set, false);
	set_of_hops(&w, 3, 0, 1, false);
	announce(&w, 3, 1, 0);
	announce(&w, 3, 0, 0);
	rig_settle(&w.rig);
	group_begin(&w);
	drain(&w);
	check(&w);
	withdraw(&w, 3, 0);
	announce(&w, 2, 0, 0);
	rig_settle(&w.rig);
	for (unsigned n = 0; n < ENTRIES; n++) {
		announce(&w, 2, 1, 1 + n % 2);
		rig_settle(&w.rig);
	}
	withdraw(&w, 2, 0);
	rig_settle(&w.rig);
	drain(&w);
	check(&w);
	assert_false(w.route[0].present);
	assert_true(w.route[1].present);
	assert_in_range(w.groups->windows.serial, 1, ENTRIES / 10);
	world_end(&w);
}

static void
test_aside(void **state)
{
	for (unsigned turns = 0; turns < 40; turns++) {
		aside_case(3, 1024, turns);
		aside_case(MEMBER, 1024, turns);
		/* lapped: the same by walks */
		aside_case(3, 16, turns);
		aside_case(MEMBER, 16, turns);
	}
}

/* ---- cases ---- */

static void
test_unchanged_sends_nothing(void **state)
{
	static struct world w;
	bool more, others;
	uint8_t buf[2 * BGP_MSG_MAX];

	seed = rng = 7;
	world_begin(&w, false, 1024);
	for (unsigned i = 0; i < PREFIXES; i++)
		announce(&w, 2, i, i % POOL);
	policy_set_to(&w, POLICY_ALL);
	rig_settle(&w.rig);
	group_begin(&w);
	drain(&w);
	check(&w);
	/* No policy has the same effect for an internal peer: all routes. */
	policy_set_to(&w, POLICY_NONE);
	qsbr_online(w.rig.readers, w.reader);
	assert_int_equal(
		turn_send(w.group, buf, sizeof(buf), UINT64_MAX, &more, &others, on_mark, &w), 0);
	qsbr_offline(w.rig.readers, w.reader);
	assert_false(more);
	assert_int_equal(w.marks[MARK_POLICY_DONE], 1);
	check(&w);
	world_end(&w);
}

static uint64_t
messages_told(const struct world *w)
{
	struct update_group_stats stats;

	update_group_stats(w->group, &stats);
	return stats.messages;
}

/* Number of messages for a prefix changed at `now_ns` while peers send their tables. */
static uint64_t
told_while_loading(struct world *w, uint64_t now_ns)
{
	uint64_t before = messages_told(w);

	announce(w, 2, 0, (unsigned)(now_ns / 1000) % POOL);
	rig_settle(&w->rig);
	update_groups_gather(w->groups, now_ns, true);
	while (member_pending(w->group))
		encode(w, 2 * BGP_MSG_MAX);
	return messages_told(w) - before;
}

/*
 * The first change is sent at once, changes in the next 20 ms together afterwards, and every change
 * by the end of the loading.
 */
static void
test_gathers(void **state)
{
	static struct world w;

	seed = rng = 11;
	world_begin(&w, false, 1024);
	policy_set_to(&w, POLICY_ALL);
	group_begin(&w);
	drain(&w);
	assert_int_equal(told_while_loading(&w, 100000000), 1);
	assert_int_equal(told_while_loading(&w, 100001000), 0);
	assert_int_equal(told_while_loading(&w, 119999000), 0);
	assert_int_equal(member_wait_ns(w.group), 120000000);
	assert_int_equal(told_while_loading(&w, 120000000), 1);
	check(&w);
	assert_int_equal(told_while_loading(&w, 120001000), 0);
	drain(&w);
	check(&w);
	assert_int_equal(member_wait_ns(w.group), 0);
	world_end(&w);
}

/* A refresh: BoRR, all routes, EoRR, with MARK_FIRST_ENTRY in between. */
static void
test_refresh_is_whole(void **state)
{
	static struct world w;

	seed = rng = 8;
	world_begin(&w, true, 1024);
	for (unsigned i = 0; i < PREFIXES; i++)
		announce(&w, 2, i, i % POOL);
	policy_set_to(&w, POLICY_MED);
	rig_settle(&w.rig);
	group_begin(&w);
	update_group_refresh(w.group, true); /* waits for the End-of-RIB */
	drain(&w);
	check(&w);
	assert_int_equal(w.borr, 1);
	assert_int_equal(w.marks[MARK_FIRST_ENTRY], 1);
	assert_int_equal(w.marks[MARK_WALK_DONE], 1);
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_false(w.route[i].present && w.route[i].stale);
	world_end(&w);
}

/* Announces the first `n` prefixes from `peer`, and returns the number of messages. */
static uint64_t
told_of(struct world *w, unsigned peer, unsigned set, unsigned n)
{
	uint64_t before = messages_told(w);

	for (unsigned i = 0; i < n; i++)
		announce(w, peer, i, set);
	drain(w);
	check(w);
	return messages_told(w) - before;
}

/* LOCAL_PREF of `from`; an external member gets equal attributes by both sets. */
static void
set_with_preference(struct world *w, unsigned peer, unsigned set, const union rig_attrs *from,
	uint32_t preference)
{
	w->pool[peer][set] = *from;
	w->pool[peer][set].a.has |= ATTR_HAS_LOCAL_PREF;
	w->pool[peer][set].a.local_pref = preference;
}

/*
 * Routes that replace advertised routes: of the same source, of another one, and of the member itself. Equal attributes are announced to the source of the old
 * route alone.
 */
static void
test_replaced(void **state)
{
	enum { ROUTES = 50 };
	static struct world w;

	seed = rng = 14;
	world_begin(&w, true, 1024);
	w.groups_config.batch = 0;
	policy_set_to(&w, POLICY_ALL);
	set_of_hops(&w, 2, 0, 3, false);
	set_of_hops(&w, 2, 1, 2, false);
	set_with_preference(&w, 2, 2, &w.pool[2][1], 200);
	set_with_preference(&w, 3, 0, &w.pool[2][1], 300);
	set_with_preference(&w, MEMBER, 0, &w.pool[2][1], 400);
	set_with_preference(&w, 3, 1, &w.pool[2][1], 500);
	group_begin(&w);
	drain(&w);
	assert_int_equal(told_of(&w, 2, 0, ROUTES), 1);
	assert_int_equal(told_of(&w, 2, 1, ROUTES), 1); /* other attributes */
	assert_int_equal(told_of(&w, 2, 2, ROUTES), 0); /* equal for the member */
	assert_int_equal(told_of(&w, 3, 0, ROUTES), 0); /* also of another source */
	assert_int_equal(adj_rib_out_count_from(w.group->group->out, (struct peer_id){3}), ROUTES);
	assert_int_equal(told_of(&w, MEMBER, 0, ROUTES / 2), 1); /* withdrawals */
	assert_false(w.route[0].present);
	assert_int_equal(told_of(&w, 3, 1, ROUTES), 1); /* the member had half of them */
	assert_true(w.route[0].present);
	world_end(&w);
}

/* The policy sets a MED, so the attributes of the old and the new route are compared. */
static void
test_replaced_with_med(void **state)
{
	enum { ROUTES = 50 };
	static struct world w;

	seed = rng = 16;
	world_begin(&w, true, 1024);
	w.groups_config.batch = 0;
	policy_set_to(&w, POLICY_MED);
	set_of_hops(&w, 2, 1, 2, false);
	set_with_preference(&w, 2, 2, &w.pool[2][1], 200);
	set_with_preference(&w, 3, 0, &w.pool[2][1], 300);
	group_begin(&w);
	drain(&w);
	assert_int_equal(told_of(&w, 2, 1, ROUTES), 1);
	assert_int_equal(told_of(&w, 2, 2, ROUTES), 0);
	assert_int_equal(told_of(&w, 3, 0, ROUTES), 0);
	world_end(&w);
}

/* The number of events of a trace since the last call; `permits` of them for an advertised route. */
static unsigned
traced(struct trace_tap *tap, unsigned *permits)
{
	const uint8_t *octets;
	struct trace_event e;
	unsigned n = 0;

	for (*permits = 0; trace_peek(tap, &e, &octets); trace_drop(tap), n++) {
		assert_int_equal(e.kind, TRACE_EXPORT);
		*permits += e.permit;
	}
	return n;
}

/* A group whose policy permits few prefixes: a trace has an event also for each refused prefix. */
static void
test_sparse_traced(void **state)
{
	const struct trace_filter all = {.of = TRACE_OF_POLICY, .policy = "few"};
	static struct world w;
	struct trace_tap *tap;
	unsigned permits;

	seed = rng = 15;
	world_begin(&w, true, 1024);
	policy_set_to(&w, POLICY_FEW);
	assert_true(policy_asks_few(w.config.rules.policy));
	set_of_hops(&w, 2, 0, 3, false);
	set_of_hops(&w, 2, 1, 2, false);
	group_begin(&w);
	drain(&w);
	assert_int_equal(trace_tap_create(w.rig.arena, &tap), 0);
	trace_tap_set(tap, 0, &all);
	update_groups_trace(w.groups, tap);
	told_of(&w, 2, 0, 30);
	assert_int_equal(traced(tap, &permits), 30);
	assert_int_equal(permits, 10);
	update_groups_trace(w.groups, NULL);
	told_of(&w, 2, 1, 30);
	assert_int_equal(traced(tap, &permits), 0);
	trace_tap_destroy(tap);
	world_end(&w);
}

/*
 * A set larger than a message of 4096 octets is not announced; an old route of the prefix is
 * withdrawn.
 */
static void
test_too_large(void **state)
{
	static uint8_t room[sizeof(struct attr_set) + 6000] __attribute__((aligned(8)));
	struct attr_set *large = (struct attr_set *)(void *)room;
	static struct world w;
	struct rib_nlri n;

	seed = rng = 9;
	world_begin(&w, true, 1024);
	policy_set_to(&w, POLICY_ALL);
	memset(w.pool[2][0].a.var + w.pool[2][0].a.as_path_len, 0, 16);
	w.pool[2][0].a.community_count = 0;
	announce(&w, 2, 0, 0);
	rig_settle(&w.rig);
	group_begin(&w);
	drain(&w);
	assert_true(w.route[0].present);
	memcpy(large, &w.pool[2][0].a, attr_set_size(&w.pool[2][0].a));
	large->community_count = 1200;
	for (unsigned i = 0; i < 1200; i++) {
		uint8_t *c = large->var + large->as_path_len + 4 * i;

		c[0] = 1, c[1] = 2, c[2] = (uint8_t)(i >> 8), c[3] = (uint8_t)i;
	}
	n = (struct rib_nlri){.prefix = w.prefix[0], .label = 0xfffff};
	rig_update(&w.rig, 2, large, &n, 1);
	drain(&w);
	assert_false(w.route[0].present);
	assert_int_equal(update_group_advertised(w.group), 0);
	announce(&w, 2, 0, 0);
	drain(&w);
	check(&w);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		one_thread_test(test_unchanged_sends_nothing),
		one_thread_test(test_gathers),
		one_thread_test(test_refresh_is_whole),
		one_thread_test(test_replaced),
		one_thread_test(test_replaced_with_med),
		one_thread_test(test_sparse_traced),
		one_thread_test(test_too_large),
		one_thread_test(test_aside),
		one_thread_test(test_awaited),
		cmocka_unit_test(test_race),
		one_thread_test(test_streams),
		one_thread_test(test_cover),
	};

	role_enter_rib();
	role_enter_session();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
