/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A commit is one plan: import policies of several peers and the export policy of a receiver change
 * at once. Some routes are kept and replayed, others arrive again in any order, with delays. A
 * destination with a route under both configurations is never missing at the receiver, no route is
 * announced twice when all routes are kept, and the final state equals a fresh start.
 */
#include "control/export/update_group_impl.h"

#include "tests/control/update_group_rig.h"
#include "tests/lpm/size.h"

#define PEERS 3u
#define RECEIVER 9u
#define PREFIXES 24u
#ifdef KEEL_SANITIZED /* a sanitizer sees wrong memory in a few; the gcc row has all */
#define ROUNDS test_size(120, 2000)
#else
#define ROUNDS test_size(600, 10000)
#endif
#define TAGS 3u

struct side {
	struct rig rig;
	unsigned reader;
	struct adj_records *records;
	struct update_groups *groups;
	struct update_member *member;
	struct route route[PREFIXES];
	unsigned told[PREFIXES];
	/* destinations in both must be present after each message */
	const struct side *must, *also;
};

struct world {
	struct policy_set *old, *new;
	struct prefix prefix[PREFIXES];
	bool announced[PEERS + 1][PREFIXES];
	unsigned set_of[PEERS + 1][PREFIXES];
	bool kept[PEERS + 1], planned[PEERS + 1], finished[PEERS + 1];
	unsigned answered[PEERS + 1];
	bool export_changes;
};

/* ---- policies as configuration ---- */

static json_t *
prefix_list(const struct world *w, const char *name)
{
	json_t *entries = json_array();
	char text[PREFIX_TEXT_MAX];

	for (unsigned i = 0; i < PREFIXES; i++)
		if (below(2) || (i == 0 && json_array_size(entries) == 0))
			json_array_append_new(
				entries, json_pack("{s:s, s:s}", "action", "permit", "prefix",
						 prefix_format(&w->prefix[i], text)));
	return json_pack("{s:s, s:o}", "name", name, "entries", entries);
}

static json_t *
community_list(unsigned tag)
{
	char name[16], text[32];

	snprintf(name, sizeof(name), "tag%u", tag);
	snprintf(text, sizeof(text), "64512:%u", tag);
	return json_pack("{s:s, s:[{s:s, s:s}]}", "name", name, "entries", "action", "permit",
		"community", text);
}

static json_t *
node(unsigned seq, bool permit, json_t *match, json_t *set)
{
	return json_pack("{s:i, s:s, s:o, s:o}", "seq", (int)seq, "action",
		permit ? "permit" : "deny", "match", match, "set", set);
}

/* Tags the permitted routes; sometimes permits only a list of prefixes. */
static json_t *
import_policy(const char *name, const char *list)
{
	json_t *nodes = json_array();
	char tag[32];
	unsigned at = 10;

	if (below(2))
		json_array_append_new(
			nodes, node(at++, below(2), json_pack("{s:s}", "prefix_list", list),
				       json_object()));
	snprintf(tag, sizeof(tag), "64512:%u", below(TAGS));
	if (below(5) > 0)
		json_array_append_new(
			nodes, node(at, true, json_object(),
				       json_pack("{s:i, s:{s:[s]}}", "local_pref",
					       (int)(100 + below(3)), "communities", "add", tag)));
	return json_pack("{s:s, s:o}", "name", name, "nodes", nodes);
}

static json_t *
export_policy(const char *name)
{
	json_t *nodes = json_array();
	unsigned at = 10;

	for (unsigned n = below(3); n > 0; n--) {
		char list[16];

		snprintf(list, sizeof(list), "tag%u", below(TAGS));
		json_array_append_new(
			nodes, node(at++, below(3) > 0, json_pack("{s:s}", "community_list", list),
				       json_pack("{s:i}", "med", (int)below(3))));
	}
	if (below(2))
		json_array_append_new(
			nodes, node(at, true, json_object(), json_pack("{s:i}", "med", 7)));
	return json_pack("{s:s, s:o}", "name", name, "nodes", nodes);
}

static const char *const import_name[] = {NULL, "in1", "in2", "in3"};

static json_t *
document(const struct world *w)
{
	json_t *policies = json_array(), *lists = json_array(), *communities = json_array();
	static const char *const list_name[] = {NULL, "list1", "list2", "list3"};

	for (unsigned p = 1; p <= PEERS; p++) {
		json_array_append_new(lists, prefix_list(w, list_name[p]));
		json_array_append_new(policies, import_policy(import_name[p], list_name[p]));
	}
	for (unsigned t = 0; t < TAGS; t++)
		json_array_append_new(communities, community_list(t));
	json_array_append_new(policies, export_policy("out"));
	return json_pack("{s:o, s:o, s:o}", "prefix_lists", lists, "community_lists", communities,
		"route_policies", policies);
}

/* ---- a daemon ---- */

static void
say(struct world *w, struct side *d, uint16_t peer, unsigned i)
{
	const uint32_t path[] = {65000u + peer, 100 + w->set_of[peer][i], 3356};
	struct rib_nlri n = {.prefix = w->prefix[i], .label = 0xfffff};
	union rig_attrs a;

	rig_attrs_make(&a, path, 3, 0x0a000000 + peer);
	rig_update(&d->rig, peer, &a.a, &n, 1);
}

static void
on_announced(void *ctx, const struct nlri *n, const struct attr_set *a)
{
	struct side *d = ctx;
	unsigned i = 0;

	while (prefix_v4(&n->prefix) != 0x0a000000u + (i << 8))
		i++;
	assert_true(i < PREFIXES);
	route_set(&d->route[i], a);
	d->told[i]++;
}

static void
on_withdrawn(void *ctx, const struct nlri *n)
{
	struct side *d = ctx;
	unsigned i = (prefix_v4(&n->prefix) - 0x0a000000u) >> 8;

	assert_true(i < PREFIXES);
	d->route[i].present = false;
}

static void
on_end_of_rib(void *ctx)
{
}

static void
on_refresh(void *ctx, uint8_t subtype)
{
	fail_msg("a refresh that was not asked for");
}

static void
check_now(void *ctx)
{
	struct side *d = ctx;

	for (unsigned i = 0; d->must != NULL && i < PREFIXES; i++)
		if (d->must->route[i].present && d->also->route[i].present && !d->route[i].present)
			fail_msg("prefix %u is missing, seed %llu", i, (unsigned long long)seed);
}

static void
on_mark(void *ctx, enum update_group_mark m)
{
}

static bool
encode(struct side *d)
{
	struct group_reader g = {d->rig.readers, d->reader, d->records};
	struct receiver_ops ops = {.as4 = true,
		.external = true,
		.announced = on_announced,
		.withdrawn = on_withdrawn,
		.end_of_rib = on_end_of_rib,
		.refresh = on_refresh,
		.after = check_now};
	bool others, more = encode_once(&g, d->member, 2 * BGP_MSG_MAX, on_mark, &ops, d, &others);

	assert_int_equal(member_error(d->member), 0);
	return more;
}

static void
drain(struct side *d)
{
	rig_settle(&d->rig);
	update_groups_gather(d->groups, 0, false);
	while (encode(d))
		;
}

static void
side_begin(struct world *w, struct side *d, struct policy_set *policies)
{
	struct update_groups_config c = {0};
	struct update_member_config m;

	memset(d, 0, sizeof(*d));
	rig_init(&d->rig, false);
	assert_int_equal(qsbr_register(d->rig.readers, &d->reader), 0);
	assert_int_equal(adj_records_create(d->rig.arena, &d->records), 0);
	for (uint16_t p = 1; p <= PEERS; p++) {
		rig_peer(&d->rig, p, 65000u + p, true, true);
		shard_peer_keep(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST, w->kept[p]);
		shard_peer_import(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST,
			policy_set_find(policies, import_name[p]));
		rig_up(&d->rig, p, 65000u + p, p, true);
		for (unsigned i = 0; i < PREFIXES; i++)
			if (w->announced[p][i])
				say(w, d, p, i);
	}
	rig_settle(&d->rig);
	c = (struct update_groups_config){.arena = d->rig.arena,
		.shard = d->rig.shard,
		.records = d->records,
		.batch = below(2) ? 0 : 1 + below(12)};
	m = (struct update_member_config){
		.id = {RECEIVER},
		.rules = {.table = d->rig.table,
			.family = FAMILY_IPV4_UNICAST,
			.kind = UPDATE_EXTERNAL,
			.own_as = RIG_OWN_ASN,
			.local_as = RIG_OWN_ASN,
			.peer_as = 65100,
			.encode = {.as4 = true, .send_communities = true},
			.policy = policy_set_find(policies, "out"),
			.peer = addr_from_v4(0xc6336409u)},
		.next_hop = addr_from_v4(0xc6336401u),
	};
	qsbr_online(d->rig.readers, d->reader);
	assert_int_equal(update_groups_create(&c, &d->groups), 0);
	assert_int_equal(update_group_join(d->groups, &m, &d->member), 0);
	qsbr_offline(d->rig.readers, d->reader);
	drain(d);
	memset(d->told, 0, sizeof(d->told));
}

static void
side_end(struct side *d)
{
	assert_false(update_group_dismantle(update_group_leave(d->member), UINT64_MAX));
	update_groups_destroy(d->groups);
	assert_int_equal(adj_records_count(d->records), 0);
	adj_records_destroy(d->records);
	qsbr_unregister(d->rig.readers, d->reader);
	rig_fini(&d->rig);
}

/* ---- a commit, in the steps of control ---- */

/* As control does: a peer supplies if the old rules refused a route. */
static struct update_plan_part
part_of(const struct side *d, uint16_t p)
{
	struct adj_rib_in_counts c = {0};

	(void)shard_peer_counts(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST, &c);
	return (struct update_plan_part){
		{p}, FAMILY_IPV4_UNICAST, c.rejected_total > 0 || c.received > c.accepted};
}

static void
commit(struct world *w, struct side *d)
{
	struct update_plan_part parts[PEERS];
	unsigned generation = 1 + below(7), count = 0;

	for (uint16_t p = 1; p <= PEERS; p++) {
		w->finished[p] = !w->planned[p];
		if (w->planned[p])
			parts[count++] = part_of(d, p);
	}
	update_groups_plan_begin(
		d->groups, generation, (uint32_t)(d->rig.now_ns / 1000000000u), parts, count);
	if (w->export_changes)
		update_group_policy(d->member, policy_set_find(w->new, "out"));
	for (unsigned i = 0; i < count; i++) {
		shard_plan_begin(d->rig.shard, parts[i].peer, FAMILY_IPV4_UNICAST, generation,
			parts[i].supplies);
		shard_peer_import(d->rig.shard, parts[i].peer, FAMILY_IPV4_UNICAST,
			policy_set_find(w->new, import_name[parts[i].peer.v]));
	}
	for (unsigned i = 0; i < count; i++)
		if (w->kept[parts[i].peer.v])
			(void)shard_peer_replay(d->rig.shard, parts[i].peer, FAMILY_IPV4_UNICAST);
}

static void
finish(struct world *w, struct side *d, uint16_t p)
{
	shard_plan_done(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST);
	w->finished[p] = true;
}

static void
step(struct world *w, struct side *d, uint16_t p)
{
	struct adj_rib_in_counts c;

	if (w->finished[p])
		return;
	if (w->kept[p]) {
		shard_peer_counts(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST, &c);
		if (c.replays_done > 0)
			finish(w, d, p);
		return;
	}
	for (unsigned n = 1 + below(12); n > 0 && w->answered[p] < PREFIXES; n--, w->answered[p]++)
		if (w->announced[p][w->answered[p]])
			say(w, d, p, w->answered[p]);
	rig_drain(&d->rig);
	if (w->answered[p] == PREFIXES)
		finish(w, d, p);
}

static bool
unfinished(const struct world *w)
{
	for (unsigned p = 1; p <= PEERS; p++)
		if (!w->finished[p])
			return true;
	return false;
}

static void
run(struct world *w, struct side *d)
{
	commit(w, d);
	while (unfinished(w)) {
		for (unsigned n = below(4); n > 0; n--)
			(void)rig_turn(&d->rig);
		if (below(2))
			(void)encode(d);
		step(w, d, (uint16_t)(1 + below(PEERS)));
	}
	while (shard_held(d->rig.shard) > 0) {
		(void)rig_turn(&d->rig);
		if (below(2))
			(void)encode(d);
	}
	update_groups_plan_end(d->groups, FAMILY_IPV4_UNICAST);
	drain(d);
}

/* ---- rounds ---- */

static bool
same_route(const struct route *a, const struct route *b)
{
	return a->present == b->present &&
	       (!a->present || memcmp(&a->attrs, &b->attrs, sizeof(a->attrs)) == 0);
}

static struct policy_set *
policies_random(const struct world *w, const char *name)
{
	json_t *d = document(w);

	if (getenv("SHOW") != NULL) {
		printf("%s ", name);
		json_dumpf(json_object_get(d, "route_policies"), stdout, JSON_COMPACT);
		printf("\n");
	}
	return policies_compile(d);
}

static struct world
world_draw(bool all_kept)
{
	struct world w = {.export_changes = below(3) > 0};

	for (unsigned i = 0; i < PREFIXES; i++)
		w.prefix[i] = prefix_from_v4(0x0a000000u + (i << 8), 24);
	for (unsigned p = 1; p <= PEERS; p++) {
		w.kept[p] = all_kept || below(2);
		w.planned[p] = below(4) > 0;
		for (unsigned i = 0; i < PREFIXES; i++) {
			w.announced[p][i] = below(3) > 0;
			w.set_of[p][i] = below(2);
		}
	}
	w.old = policies_random(&w, "old");
	w.new = policies_random(&w, "new");
	return w;
}

/*
 * A fresh start with the configuration after the commit; unchanged parts come from the old
 * configuration.
 */
static void
fresh(struct world *w, struct side *d)
{
	side_begin(w, d, w->old);
	for (uint16_t p = 1; p <= PEERS; p++) {
		if (!w->planned[p])
			continue;
		shard_peer_import(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST,
			policy_set_find(w->new, import_name[p]));
		for (unsigned i = 0; i < PREFIXES; i++)
			if (w->announced[p][i])
				say(w, d, p, i);
	}
	if (w->export_changes)
		update_group_policy(d->member, policy_set_find(w->new, "out"));
	drain(d);
}

static void
round_run(bool all_kept)
{
	struct world w = world_draw(all_kept);
	static struct side d, before, after;

	side_begin(&w, &before, w.old);
	fresh(&w, &after);
	side_begin(&w, &d, w.old);
	d.must = &before;
	d.also = &after;
	run(&w, &d);
	for (unsigned i = 0; i < PREFIXES; i++) {
		if (!same_route(&d.route[i], &after.route[i]))
			fail_msg("prefix %u is another one than after a fresh start, seed %llu", i,
				(unsigned long long)seed);
		if (all_kept && d.told[i] > 1)
			fail_msg("prefix %u was announced %u times, seed %llu", i, d.told[i],
				(unsigned long long)seed);
		if (all_kept && d.told[i] > 0 && same_route(&before.route[i], &after.route[i]))
			fail_msg("prefix %u was announced again as it was, seed %llu", i,
				(unsigned long long)seed);
	}
	side_end(&d);
	side_end(&before);
	side_end(&after);
	policy_set_free(w.old);
	policy_set_free(w.new);
}

static void
test_kept_routes(void **state)
{
	for (unsigned i = 0; i < ROUNDS / 2; i++) {
		seed = rng = i;
		round_run(true);
	}
}

static void
test_routes_that_are_asked_for(void **state)
{
	for (unsigned i = 0; i < ROUNDS / 2; i++) {
		seed = rng = 1000000 + i;
		round_run(false);
	}
}

/* ---- single cases: peers 1 and 2 announce all prefixes, and are asked to refresh ---- */

/* Imports add `import_tag` (peer 3: tag 0), exports permit `export_tag`. */
static struct policy_set *
policies_tagged(unsigned import_tag, unsigned export_tag)
{
	json_t *policies = json_array(), *communities = json_array();
	struct policy_set *set;
	char text[32];
	json_t *d;

	for (unsigned p = 1; p <= PEERS; p++) {
		snprintf(text, sizeof(text), "64512:%u", p == 3 ? 0 : import_tag);
		json_array_append_new(policies,
			json_pack("{s:s, s:[o]}", "name", import_name[p], "nodes",
				node(10, true, json_object(),
					json_pack("{s:i, s:{s:[s]}}", "local_pref",
						p == 3 ? 300 : 100, "communities", "add", text))));
	}
	snprintf(text, sizeof(text), "tag%u", export_tag);
	json_array_append_new(policies,
		json_pack("{s:s, s:[o]}", "name", "out", "nodes",
			node(10, true, json_pack("{s:s}", "community_list", text), json_object())));
	for (unsigned t = 0; t <= TAGS; t++)
		json_array_append_new(communities, community_list(t));
	d = json_pack("{s:o, s:o}", "community_lists", communities, "route_policies", policies);
	set = policies_compile(d);
	return set;
}

static struct world
world_asked(struct policy_set *old, unsigned peers)
{
	struct world w = {.old = old, .export_changes = true};

	for (unsigned i = 0; i < PREFIXES; i++)
		w.prefix[i] = prefix_from_v4(0x0a000000u + (i << 8), 24);
	for (unsigned p = 1; p <= 2; p++) {
		w.planned[p] = p <= peers;
		for (unsigned i = 0; i < PREFIXES; i++)
			w.announced[p][i] = p <= peers;
	}
	return w;
}

/* The steps of control for a commit. */
static void
plan_tagged(struct world *w, struct side *d, struct policy_set *set, unsigned generation)
{
	struct update_plan_part parts[2] = {0};
	unsigned count = 0;

	for (uint16_t p = 1; p <= 2; p++)
		if (w->planned[p])
			parts[count++] = part_of(d, p);
	update_groups_plan_begin(
		d->groups, generation, (uint32_t)(d->rig.now_ns / 1000000000u), parts, count);
	update_group_policy(d->member, policy_set_find(set, "out"));
	for (unsigned i = 0; i < count; i++) {
		shard_plan_begin(d->rig.shard, parts[i].peer, FAMILY_IPV4_UNICAST, generation,
			parts[i].supplies);
		shard_peer_import(d->rig.shard, parts[i].peer, FAMILY_IPV4_UNICAST,
			policy_set_find(set, import_name[parts[i].peer.v]));
	}
}

static void
answers(struct world *w, struct side *d, uint16_t p, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
		say(w, d, p, i);
	drain(d);
}

static void
plan_ends(struct world *w, struct side *d)
{
	for (uint16_t p = 1; p <= 2; p++)
		shard_plan_done(d->rig.shard, (struct peer_id){p}, FAMILY_IPV4_UNICAST);
	rig_settle(&d->rig);
	update_groups_plan_end(d->groups, FAMILY_IPV4_UNICAST);
	drain(d);
}

static void
all_present(const struct side *d)
{
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_true(d->route[i].present);
}

/* The receiver requests a refresh: each destination is evaluated. */
static void
asked_by_receiver(struct side *d)
{
	update_group_refresh(d->member, false);
	drain(d);
	all_present(d);
}

/* A commit changes the export policy and another export rule of the same peer. */
static void
test_two_rules_of_one_commit(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *new = policies_tagged(2, 2);
	struct world w = world_asked(old, 1);
	static struct side d;
	struct update_rules r;

	side_begin(&w, &d, old);
	plan_tagged(&w, &d, new, 1);
	r = *update_group_rules_of(d.member);
	r.next_hop_unchanged = true;
	update_group_rules(d.member, &r);
	asked_by_receiver(&d);
	answers(&w, &d, 1, 0, PREFIXES);
	plan_ends(&w, &d);
	all_present(&d);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(new);
}

/*
 * A commit during the plan of an earlier commit: a tag is renamed twice. Half of the routes have
 * the middle tag.
 */
static void
test_commit_within_a_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *mid = policies_tagged(2, 2),
			  *new = policies_tagged(3, 3);
	struct world w = world_asked(old, 1);
	static struct side d;

	side_begin(&w, &d, old);
	plan_tagged(&w, &d, mid, 1);
	answers(&w, &d, 1, 0, PREFIXES / 2);
	plan_tagged(&w, &d, new, 2);
	asked_by_receiver(&d);
	answers(&w, &d, 1, 0, PREFIXES / 3);
	asked_by_receiver(&d);
	answers(&w, &d, 1, 0, PREFIXES);
	all_present(&d);
	plan_ends(&w, &d);
	all_present(&d);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(mid);
	policy_set_free(new);
}

/* Generations are reused: a path may carry the plan's generation from an earlier plan. */
static void
test_generation_of_an_earlier_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *mid = policies_tagged(2, 2),
			  *new = policies_tagged(3, 3);
	struct world w = world_asked(old, 1);
	static struct side d;

	side_begin(&w, &d, old);
	plan_tagged(&w, &d, mid, 1);
	answers(&w, &d, 1, 0, PREFIXES);
	plan_ends(&w, &d);
	all_present(&d);
	d.rig.now_ns += 5000000000u;
	plan_tagged(&w, &d, new, 1);
	asked_by_receiver(&d);
	answers(&w, &d, 1, 0, PREFIXES);
	plan_ends(&w, &d);
	all_present(&d);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(mid);
	policy_set_free(new);
}

/*
 * Peer 3 is outside the plan, and withdraws a route. The export policy refuses the remaining path,
 * so the route must be withdrawn.
 */
static void
test_a_withdrawal_within_a_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 0), *new = policies_tagged(2, 0);
	struct world w = world_asked(old, 2);
	struct rib_nlri n = {.prefix = w.prefix[5], .label = 0xfffff};
	static struct side d;

	for (unsigned i = 0; i < PREFIXES; i++)
		w.announced[3][i] = true;
	side_begin(&w, &d, old);
	plan_tagged(&w, &d, new, 1);
	answers(&w, &d, 1, 0, PREFIXES);
	all_present(&d);
	rig_update(&d.rig, 3, NULL, &n, 1);
	drain(&d);
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_int_equal(d.route[i].present, i != 5);
	answers(&w, &d, 2, 0, PREFIXES);
	plan_ends(&w, &d);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(new);
}

/*
 * The new export policy refuses all prefixes but one by their prefix. The best path of another
 * prefix changes within the plan; the rules from before the plan permit the path.
 */
static void
test_refused_prefix_within_a_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *few;
	struct world w = world_asked(old, 1);
	struct rib_nlri n = {.prefix = w.prefix[5], .label = 0xfffff};
	static struct side d;

	few = policies_compile(json_pack(
		"{s:[{s:s,s:[{s:s,s:s}]}], s:[{s:s,s:[{s:i,s:s,s:{s:s}}]}]}", "prefix_lists",
		"name", "one", "entries", "action", "permit", "prefix", "10.0.0.0/24",
		/**/ "route_policies", "name", "out", "nodes", "seq", 10, "action", "permit",
		"match", "prefix_list", "one"));
	w.announced[3][5] = true;
	side_begin(&w, &d, old);
	assert_false(d.route[5].present); /* peer 3 has another tag */
	update_groups_plan_begin(d.groups, 1, (uint32_t)(d.rig.now_ns / 1000000000u),
		&(struct update_plan_part){{1}, FAMILY_IPV4_UNICAST, true}, 1);
	update_group_policy(d.member, policy_set_find(few, "out"));
	assert_true(policy_asks_few(update_group_rules_of(d.member)->policy));
	shard_plan_begin(d.rig.shard, (struct peer_id){1}, FAMILY_IPV4_UNICAST, 1, true);
	drain(&d);
	rig_update(&d.rig, 3, NULL, &n, 1);
	drain(&d);
	all_present(&d);
	plan_ends(&w, &d);
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_int_equal(d.route[i].present, i == 0);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(few);
}

/* A route without room in the forwarding tables is not advertised, also during a plan. */
static void
test_not_installed_within_a_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *new = policies_tagged(2, 2);
	struct world w = world_asked(old, 2);
	static struct shard_report report;
	static struct side d;

	side_begin(&w, &d, old);
	plan_tagged(&w, &d, new, 1);
	report.count = 1;
	report.at[0] = (struct shard_room){.prefix = w.prefix[5], .kind = ROOM_NONE};
	shard_report(d.rig.shard, &report);
	drain(&d);
	for (unsigned i = 0; i < PREFIXES; i++)
		assert_int_equal(d.route[i].present, i != 5);
	plan_ends(&w, &d);
	side_end(&d);
	policy_set_free(old);
	policy_set_free(new);
}

/*
 * A split that outlives its plan. During the next plan, the copy of the group must not use rules
 * from before the first plan: their policies may be freed.
 */
static void
test_a_split_that_outlives_its_plan(void **state)
{
	struct policy_set *old = policies_tagged(1, 1), *mid = policies_tagged(1, 1),
			  *new = policies_tagged(2, 2);
	struct world w = world_asked(old, 1);
	struct update_member_config c;
	struct update_member *other;
	static struct side d;

	side_begin(&w, &d, old);
	c = (struct update_member_config){
		.id = {RECEIVER + 1}, .rules = d.member->rules, .next_hop = d.member->next_hop};
	assert_int_equal(update_group_join(d.groups, &c, &other), 0);
	assert_ptr_equal(other->group, d.member->group);
	drain(&d);
	update_group_policy(d.member, policy_set_find(mid, "out"));
	update_groups_settle(d.groups);
	qsbr_online(d.rig.readers, d.reader);
	assert_true(stream_produce(other->group, UINT64_MAX));
	assert_non_null(other->group->copy);
	/* the other member has a new policy, too: the old policy is unused */
	update_group_policy(other, policy_set_find(new, "out"));
	plan_tagged(&w, &d, new, 1);
	update_group_policy(d.member, policy_set_find(mid, "out"));
	for (unsigned i = 0; i < 100 && other->group->copy != NULL; i++)
		assert_true(stream_produce(other->group, UINT64_MAX));
	qsbr_offline(d.rig.readers, d.reader);
	assert_ptr_not_equal(d.member->group, other->group);
	assert_true(d.member->group->planned);
	assert_ptr_not_equal(d.member->group->before.policy, policy_set_find(old, "out"));
	plan_ends(&w, &d);
	assert_false(update_group_dismantle(update_group_leave(other), UINT64_MAX));
	side_end(&d);
	policy_set_free(old);
	policy_set_free(mid);
	policy_set_free(new);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_rules_of_one_commit),
		cmocka_unit_test(test_commit_within_a_plan),
		cmocka_unit_test(test_generation_of_an_earlier_plan),
		cmocka_unit_test(test_a_withdrawal_within_a_plan),
		cmocka_unit_test(test_refused_prefix_within_a_plan),
		cmocka_unit_test(test_not_installed_within_a_plan),
		cmocka_unit_test(test_a_split_that_outlives_its_plan),
		cmocka_unit_test(test_kept_routes),
		cmocka_unit_test(test_routes_that_are_asked_for),
	};

	role_enter_session();
	if (argc > 2) { /* a single round: SEED, 1 if all routes are kept */
		seed = rng = strtoull(argv[1], NULL, 10);
		round_run(argv[2][0] == '1');
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
