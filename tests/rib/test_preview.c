/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A preview against the real change: random new policies, max_paths and cluster id are previewed,
 * then installed and replayed; every path and the next hops of every destination are compared
 * before and after. A preview leaves no trace.
 */
#include "rib/table/inspect.h"
#include "rib/shard/preview.h"

#include "rib/policy/policy_build.h"
#include "tests/rib/rib_test.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>

#if defined(__SANITIZE_THREAD__) || defined(KEEL_SANITIZED)
#define SEEDS 30
#else
#define SEEDS 200
#endif
#define PEERS 4 /* 1..4; 3 and 4 are internal */
#define ANCHOR                                                                                     \
	5 /* announces its own prefixes, with each next hop, so that the shard tracks all next hops */
#define PREFIXES 120
#define SETS 24
#define HOPS 6

static uint64_t rng_state, current_seed;

static unsigned
below(unsigned n)
{
	return random_below(&rng_state, n);
}

struct world {
	struct rig rig;
	union rig_attrs set[SETS];
	struct rib_nlri nlri[PREFIXES];
	const struct policy *policy[2][PEERS + 1]; /* before, after */
	uint8_t allow_as_in[2][PEERS + 1];
	bool keep[PEERS + 1];
	unsigned max_paths[2], cluster_id[2]; /* before, after */
};

static uint32_t
hop(unsigned i)
{
	return 0x0a000001u + (i << 8);
}

/* Next hop 0 and next hops set by policies are up; 4 is down, 5 is on no connected subnet. */
static void
tell_hops(struct world *w)
{
	for (unsigned i = 0; i < HOPS; i++)
		rig_tell(&w->rig, VRF_DEFAULT.v, hop(i), i != 4, i != 5, i == 3 ? 10 : 0);
}

/* ---- policies ---- */

static void
match_some(struct policy_builder *b)
{
	struct policy_prefix_list *l;

	switch (below(4)) {
	case 0:
		assert_int_equal(policy_prefix_list_create(&l), 0);
		for (unsigned i = below(3), step = 2 + below(4); i < PREFIXES; i += step) {
			struct rib_nlri n = rig_nlri(0x01000000 + (i << 8), 24);

			assert_int_equal(policy_prefix_list_add(
						 l, true, &n.prefix, n.prefix.len, n.prefix.len),
				0);
		}
		assert_int_equal(policy_prefix_list_seal(l), 0);
		assert_int_equal(policy_builder_match_prefix_list(b, l), 0);
		policy_prefix_list_unref(l);
		break;
	case 1:
		assert_int_equal(policy_builder_match_number(b, NUMBER_MED, below(3), 2), 0);
		break;
	case 2:
		assert_int_equal(
			policy_builder_match_number(b, NUMBER_AS_PATH_LENGTH, 1, 1 + below(3)), 0);
		break;
	default:
		break; /* matches all routes */
	}
}

static void
set_some(struct policy_builder *b)
{
	struct ip_addr a = rig_hop(hop(below(3)));

	if (below(2))
		policy_builder_set_number(b, NUMBER_LOCAL_PREF, 100 + below(2));
	if (below(3) == 0)
		policy_builder_set_number(b, NUMBER_MED, below(3));
	if (below(4) == 0)
		policy_builder_set_prepend(b, RIG_OWN_ASN + below(2), 1 + below(2));
	if (below(4) == 0)
		policy_builder_set_next_hop(b, &a);
}

/* NULL, a built-in policy, or random nodes. */
static const struct policy *
policy_draw(void)
{
	struct policy_builder *b;
	struct policy *p;
	unsigned kind = below(10), nodes = 1 + below(4);

	if (kind < 2)
		return kind == 0 ? NULL : policy_accept_all();
	if (kind == 2)
		return policy_deny_all();
	assert_int_equal(policy_builder_create("drawn", &b), 0);
	for (unsigned i = 0; i < nodes; i++) {
		bool permit = below(4) > 0;

		assert_int_equal(policy_builder_node(b, 10 * (i + 1), permit), 0);
		match_some(b);
		if (permit)
			set_some(b);
	}
	assert_int_equal(policy_builder_finish(b, &p), 0);
	return p;
}

static void
policy_drop(const struct policy *p)
{
	if (p != NULL && p != policy_accept_all() && p != policy_deny_all())
		policy_destroy((struct policy *)(uintptr_t)p);
}

/* ---- a world ---- */

/* Adds the marks of a reflector of that cluster. */
static void
reflected(struct attr_set *a, uint8_t cluster)
{
	uint8_t *to = a->var + (attr_cluster_list(a) - a->var);

	assert_int_equal(a->unknown_len, 0);
	memcpy(to, (uint8_t[]){0, 0, 0, cluster}, 4);
	a->cluster_count = 1;
}

static void
sets_draw(struct world *w)
{
	for (unsigned i = 0; i < SETS; i++) {
		/* sometimes with our own AS: a loop, refused under every policy */
		uint32_t path[3] = {
			65001 + below(3), below(12) == 0 ? RIG_OWN_ASN : 65100 + below(2), 65200};

		rig_attrs_make(&w->set[i], path, 1 + below(3), hop(below(HOPS)));
		w->set[i].a.med = below(3);
		w->set[i].a.has |= ATTR_HAS_MED;
		if (below(2))
			reflected(&w->set[i].a, 1 + below(3));
	}
}

static void
anchor_make(struct world *w)
{
	rig_peer(&w->rig, ANCHOR, 65005, true, true);
	rig_up(&w->rig, ANCHOR, 65005, 0x05050505, true);
	shard_peer_import(
		w->rig.shard, (struct peer_id){ANCHOR}, rig_family(), policy_accept_all());
	for (unsigned i = 0; i < HOPS; i++) {
		struct rib_nlri n = rig_nlri(0x02000000 + (i << 8), 24);
		union rig_attrs a;
		uint32_t path = 65005;

		rig_attrs_make(&a, &path, 1, hop(i));
		rig_update(&w->rig, ANCHOR, &a.a, &n, 1);
	}
}

static void
world_make(struct world *w)
{
	struct shard_settings settings = {.max_paths = 0};

	memset(w, 0, sizeof(*w));
	rig_mode = below(2) ? RIG_V4 : RIG_V6;
	rig_init(&w->rig, true);
	for (unsigned t = 0; t < 2; t++) {
		w->max_paths[t] = 1 + below(3);
		w->cluster_id[t] = 1 + below(4);
	}
	settings.max_paths = w->max_paths[0];
	settings.cluster_id = w->cluster_id[0];
	shard_settings(w->rig.shard, &settings);
	sets_draw(w);
	anchor_make(w);
	for (uint16_t p = 1; p <= PEERS; p++) {
		rig_peer(&w->rig, p, p < 3 ? 65000u + p : RIG_OWN_ASN, p < 3, below(2));
		w->keep[p] = below(4) > 0;
		shard_peer_keep(w->rig.shard, (struct peer_id){p}, rig_family(), w->keep[p]);
		for (unsigned t = 0; t < 2; t++) {
			w->policy[t][p] = policy_draw();
			w->allow_as_in[t][p] = (uint8_t)below(2);
		}
		rig_allow_as_in(&w->rig, p, w->allow_as_in[0][p]);
		shard_peer_import(w->rig.shard, (struct peer_id){p}, rig_family(), w->policy[0][p]);
		rig_up(&w->rig, p, p < 3 ? 65000u + p : RIG_OWN_ASN, 0x01010100u + p, p < 3);
	}
	for (unsigned i = 0; i < PREFIXES; i++) {
		w->nlri[i] = rig_nlri(0x01000000 + (i << 8), 24);
		for (uint16_t p = 1; p <= PEERS; p++) {
			if (below(3) > 0)
				rig_update(&w->rig, p, &w->set[below(SETS)].a, &w->nlri[i], 1);
		}
	}
	rig_settle(&w->rig);
	tell_hops(w);
	rig_settle(&w->rig);
}

static void
world_end(struct world *w)
{
	rig_fini(&w->rig);
	for (uint16_t p = 1; p <= PEERS; p++) {
		policy_drop(w->policy[0][p]);
		policy_drop(w->policy[1][p]);
	}
}

/* ---- state of the table ---- */

struct seen {
	bool accepted[PEERS + 1];
	union rig_attrs attrs[PEERS + 1];
	unsigned hops;
	struct ip_addr hop[8];
	uint16_t best; /* peer; 0: no usable path */
};

static void
see(const struct world *w, struct seen seen[PREFIXES])
{
	struct attr_table *t = shard_attrs(w->rig.shard);
	struct dest_view v;

	memset(seen, 0, PREFIXES * sizeof(*seen));
	for (unsigned i = 0; i < PREFIXES; i++) {
		if (!rig_view(&w->rig, &w->nlri[i].prefix, &v))
			continue;
		seen[i].best = v.paths->eligible > 0 ? v.paths->path[0].peer.v : 0;
		for (unsigned k = 0; k < v.paths->count; k++) {
			const struct rib_path *p = &v.paths->path[k];
			const struct attr_set *a = attr_of(t, p->accepted);

			if (p->label_flags & PATH_REJECTED)
				continue;
			seen[i].accepted[p->peer.v] = true;
			memcpy(&seen[i].attrs[p->peer.v], a, attr_set_size(a));
			if (k < v.paths->eligible && k < v.paths->multipath)
				seen[i].hop[seen[i].hops++] = *attr_next_hop(a);
		}
	}
}

static bool
hops_same(const struct seen *a, const struct seen *b)
{
	unsigned found = 0;

	for (unsigned i = 0; i < a->hops; i++) {
		for (unsigned k = 0; k < b->hops; k++)
			found += addr_equal(&a->hop[i], &b->hop[k]);
	}
	return a->hops == b->hops && found == a->hops;
}

static void
count(struct preview_counts *c, bool was, bool is, bool same)
{
	if (!was && is)
		c->added++;
	else if (was && !is)
		c->removed++;
	else if (was && !same)
		c->changed++;
}

static struct preview_counts total; /* of all seeds: each kind must occur */

static void
assert_counts(const struct preview_counts *told, const struct preview_counts *happened)
{
	total.added += told->added;
	total.removed += told->removed;
	total.changed += told->changed;
	assert_int_equal(told->added, happened->added);
	assert_int_equal(told->removed, happened->removed);
	assert_int_equal(told->changed, happened->changed);
}

/* ---- a preview ---- */

static struct preview *
preview_all(struct world *w, bool kept)
{
	struct preview_config c = {.arena = w->rig.arena,
		.shard = w->rig.shard,
		.table = w->rig.table,
		.family = rig_family(),
		.fib = kept,
		.max_paths = w->max_paths[1],
		.cluster_id = w->cluster_id[1],
		.all = w->max_paths[0] != w->max_paths[1]};
	struct preview *p;
	int err;

	assert_int_equal(preview_create(&c, &p), 0);
	for (uint16_t i = 1; i <= PEERS; i++) {
		if (w->keep[i] == kept)
			assert_int_equal(preview_peer(p, (struct peer_id){i}, w->policy[1][i],
						 w->allow_as_in[1][i]),
				0);
	}
	for (uint32_t id = 0; id < dest_limit(shard_table(w->rig.shard, w->rig.table)); id++) {
		while ((err = preview_dest(p, (struct dest_id){id})) == -EAGAIN) {
			struct preview_answer a =
				preview_next_hop(w->rig.shard, preview_question(p));

			assert_int_equal(preview_answer(p, &a), 0);
		}
		assert_int_equal(err, 0);
	}
	return p;
}

/* Best path of a destination, with its attributes. */
struct best {
	uint16_t peer;
	union rig_attrs attrs;
};
static unsigned best_changes; /* of all seeds */

static void
best_ahead(struct world *w, struct preview *p, const struct seen was[PREFIXES],
	struct best best[PREFIXES])
{
	memset(best, 0, PREFIXES * sizeof(*best));
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct dest_id id =
			dest_find(shard_table(w->rig.shard, w->rig.table), &w->nlri[i].prefix);
		struct preview_best b;
		struct dest_view v;
		int err;

		if (!rig_view(&w->rig, &w->nlri[i].prefix, &v))
			continue;
		while ((err = preview_best(p, id, &v, &b)) == -EAGAIN) {
			struct preview_answer a =
				preview_next_hop(w->rig.shard, preview_question(p));

			assert_int_equal(preview_answer(p, &a), 0);
		}
		assert_int_equal(err, 0);
		best_changes += b.changes;
		best[i].peer = b.changes ? (b.path != NULL ? b.path->peer.v : 0) : was[i].best;
		if (b.changes && b.path != NULL)
			memcpy(&best[i].attrs, b.attrs, attr_set_size(b.attrs));
		else if (best[i].peer != 0)
			best[i].attrs = was[i].attrs[best[i].peer];
	}
}

static void
assert_best(const struct best ahead[PREFIXES], const struct seen is[PREFIXES])
{
	for (unsigned i = 0; i < PREFIXES; i++) {
		assert_int_equal(ahead[i].peer, is[i].best);
		if (is[i].best != 0)
			assert_memory_equal(
				&ahead[i].attrs, &is[i].attrs[is[i].best], sizeof(ahead[i].attrs));
	}
}

/* Without keep_all_routes: the new policy evaluates the routes accepted by the old policy. */
static void
check_not_kept(struct world *w, const struct seen seen[PREFIXES])
{
	struct preview *p = preview_all(w, false);
	struct policy_eval *eval;

	assert_int_equal(policy_eval_create(w->rig.arena, &eval), 0);
	for (uint16_t i = 1; i <= PEERS; i++) {
		const struct policy *policy = w->policy[1][i];
		struct preview_counts told, expected = {0};

		for (unsigned k = 0; k < PREFIXES && !w->keep[i]; k++) {
			const struct attr_set *a = &seen[k].attrs[i].a;
			struct policy_context context = {.peer = rig_peer_addr(i),
				.family = rig_family(),
				.source = i < 3 ? SOURCE_EXTERNAL : SOURCE_INTERNAL};
			struct policy_verdict v = {.permit = i >= 3, .attrs = a};

			if (!seen[k].accepted[i])
				continue;
			if (policy != NULL) {
				assert_int_equal(policy_eval_begin(eval, policy, a, &context), 0);
				assert_int_equal(
					policy_eval_prefix(eval, &w->nlri[k].prefix, &v), 0);
			}
			/*
			 * with a lower allow_as_in, a prepended own AS looks like a received loop
			 */
			if (w->allow_as_in[1][i] < w->allow_as_in[0][i] &&
				attr_as_path_contains(a, RIG_OWN_ASN))
				v.permit = false;
			if (i >= 3 && a->cluster_count > 0 &&
				attr_cluster_list(a)[3] == w->cluster_id[1])
				v.permit = false;
			count(&expected, true, v.permit,
				v.permit && attr_set_size(a) == attr_set_size(v.attrs) &&
					memcmp(a, v.attrs, attr_set_size(a)) == 0);
		}
		preview_peer_counts(p, (struct peer_id){i}, &told);
		assert_counts(&told, &expected);
	}
	policy_eval_destroy(eval);
	preview_destroy(p);
}

/* With keep_all_routes: the preview equals the later replay. */
static void
check_kept(struct world *w, const struct seen was[PREFIXES])
{
	static struct seen is[PREFIXES];
	static struct best ahead[PREFIXES];
	struct shard_settings settings = {
		.max_paths = w->max_paths[1], .cluster_id = w->cluster_id[1]};
	struct preview *p = preview_all(w, true);
	struct preview_counts told, happened = {0};

	best_ahead(w, p, was, ahead);
	shard_settings(w->rig.shard, &settings);
	for (uint16_t i = 1; i <= PEERS; i++) {
		if (!w->keep[i])
			continue;
		shard_peer_import(w->rig.shard, (struct peer_id){i}, rig_family(), w->policy[1][i]);
		rig_allow_as_in(&w->rig, i, w->allow_as_in[1][i]);
		shard_peer_replay(w->rig.shard, (struct peer_id){i}, rig_family());
	}
	rig_settle(&w->rig);
	tell_hops(w);
	rig_settle(&w->rig);
	see(w, is);
	assert_best(ahead, is);
	for (unsigned k = 0; k < PREFIXES; k++)
		count(&happened, was[k].hops > 0, is[k].hops > 0, hops_same(&was[k], &is[k]));
	preview_fib_counts(p, &told);
	assert_counts(&told, &happened);
	for (uint16_t i = 1; i <= PEERS; i++) {
		happened = (struct preview_counts){0};
		for (unsigned k = 0; k < PREFIXES; k++)
			count(&happened, was[k].accepted[i], is[k].accepted[i],
				memcmp(&was[k].attrs[i], &is[k].attrs[i],
					sizeof(was[k].attrs[i])) == 0);
		preview_peer_counts(p, (struct peer_id){i}, &told);
		assert_counts(&told, &happened);
	}
	preview_destroy(p);
}

static void
one_world(uint64_t seed)
{
	static struct seen was[PREFIXES], again[PREFIXES];
	struct world w;
	uint64_t head, failures;

	rng_state = seed;
	world_make(&w);
	see(&w, was);
	head = journal_head(shard_journal(w.rig.shard));
	failures = shard_failures(w.rig.shard);
	check_not_kept(&w, was);
	preview_destroy(preview_all(&w, true));
	rig_settle(&w.rig);
	see(&w, again);
	assert_memory_equal(was, again, sizeof(was));
	assert_int_equal(journal_head(shard_journal(w.rig.shard)), head);
	check_kept(&w, was);
	assert_int_equal(shard_failures(w.rig.shard), failures);
	world_end(&w);
}

static void
test_preview_is_what_happens(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		current_seed = seed;
		one_world(seed);
	}
	current_seed = 0;
	assert_true(total.added > 100 && total.removed > 100 && total.changed > 100);
	assert_true(best_changes > 100);
}

static int
tell_seed(void **state)
{
	(void)state;
	if (current_seed != 0)
		print_message("seed %llu\n", (unsigned long long)current_seed);
	return 0;
}

static void
test_nobody(void **state)
{
	struct world w;
	struct preview_config c;
	struct preview *p;
	struct preview_counts counts;

	(void)state;
	rng_state = 1;
	world_make(&w);
	c = (struct preview_config){.arena = w.rig.arena,
		.shard = w.rig.shard,
		.table = w.rig.table,
		.family = rig_family(),
		.fib = true};
	assert_int_equal(preview_create(&c, &p), 0);
	assert_int_equal(preview_peer(p, (struct peer_id){77}, policy_deny_all(), 0), -ENOENT);
	for (uint32_t id = 0; id < dest_limit(shard_table(w.rig.shard, w.rig.table)) + 10; id++)
		assert_int_equal(preview_dest(p, (struct dest_id){id}), 0);
	preview_peer_counts(p, (struct peer_id){1}, &counts);
	assert_int_equal(counts.added + counts.removed + counts.changed, 0);
	preview_fib_counts(p, &counts);
	assert_int_equal(counts.added + counts.removed + counts.changed, 0);
	preview_destroy(p);
	world_end(&w);
}

/*
 * Ids of attribute sets belong to a shard: in a different shard, the same id and serial name a
 * different set.
 */
static void
test_shards(void **state)
{
	struct preview_config c = {0};
	struct preview_counts counts;
	const struct policy *only;
	struct policy_builder *b;
	struct shard *at[2];
	struct shards shards;
	struct rig rig[2];
	struct preview *p;
	struct policy *made;

	(void)state;
	rig_mode = RIG_V4;
	assert_int_equal(policy_builder_create("med-1", &b), 0);
	assert_int_equal(policy_builder_node(b, 10, true), 0);
	assert_int_equal(policy_builder_match_number(b, NUMBER_MED, 1, 1), 0);
	assert_int_equal(policy_builder_finish(b, &made), 0);
	only = made;
	for (unsigned i = 0; i < 2; i++) {
		struct rib_nlri n = rig_nlri(0x01000000 + (i << 24), 24);
		uint32_t path = 65001;
		union rig_attrs a;

		rig_init(&rig[i], false);
		rig_peer(&rig[i], 1, path, true, true);
		rig_up(&rig[i], 1, path, 0x01010101, true);
		shard_peer_import(
			rig[i].shard, (struct peer_id){1}, rig_family(), policy_accept_all());
		rig_attrs_make(&a, &path, 1, hop(0));
		a.a.med = 1 + i;
		a.a.has |= ATTR_HAS_MED;
		rig_update(&rig[i], 1, &a.a, &n, 1);
		rig_settle(&rig[i]);
		at[i] = rig[i].shard;
	}
	shards_init(&shards, at, 2);
	c.arena = rig[0].arena;
	c.shards = &shards;
	c.table = rig[0].table;
	c.family = rig_family();
	assert_int_equal(preview_create(&c, &p), 0);
	assert_int_equal(preview_peer(p, (struct peer_id){1}, only, 0), 0);
	for (uint32_t id = 0; id < 2 * dest_limit(shard_table(at[0], c.table)); id++)
		assert_int_equal(preview_dest(p, (struct dest_id){id}), 0);
	preview_peer_counts(p, (struct peer_id){1}, &counts);
	assert_int_equal(counts.removed, 1);
	assert_int_equal(counts.changed, 0);
	preview_destroy(p);
	for (unsigned i = 0; i < 2; i++)
		rig_fini(&rig[i]);
	policy_drop(only);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_shards),
		cmocka_unit_test_teardown(test_preview_is_what_happens, tell_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
