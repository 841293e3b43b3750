/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts of a preview of changed export rules against the real advertisements: the default route,
 * another cluster id, a group split meanwhile, and other import policies.
 */
#include "control/session/preview_export.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST
#define ROUTES 1000u

static struct node n;
static struct script s[3];

/*
 * A loopback address of ours is no valid next hop, so peers receive the original next hop unless
 * `self`.
 */
static struct config_peer
peer_of(unsigned id, bool self, bool originate)
{
	struct config_peer c = peer_config(PEER_AS + id, OWN_AS, 1 + id);

	c.families[V4].next_hop_unchanged = !self;
	c.families[V4].default_originate = originate;
	return c;
}

static void
begin(unsigned peers, bool self, bool originate)
{
	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned id = 1; id <= peers; id++) {
		struct config_peer c = peer_of(id, self, originate);
		struct bgp_open_options o = script_open(PEER_AS + id, PEER_ID + id);

		node_peer(&n, id, &c, policy_accept_all());
		script_establish(&s[id - 1], &n, 1 + id, &o);
		wait_for(node_view(&n, id).families[V4].end_of_rib_sent);
	}
}

static void
end(unsigned peers)
{
	for (unsigned i = 0; i < peers; i++)
		script_close(&s[i]);
	node_end(&n);
}

static void
originate(uint32_t addr, uint8_t len, uint32_t med)
{
	struct attr_set a;

	memset(&a, 0, sizeof(a));
	a.med = med;
	a.has = med != 0 ? ATTR_HAS_MED : 0;
	node_originate(&n, addr, len, &a);
}

static void
told(unsigned id, uint64_t routes)
{
	wait_for(node_view(&n, id).families[V4].advertised == routes);
}

/* ---- previews ---- */

struct previewed {
	struct export_preview *e;
	struct peer_id peer;
	struct config_peer then;
	const struct policy *policy;
	struct preview *import; /* NULL: import unchanged */
	uint32_t cluster_id;
	uint32_t at, slices;
	struct preview_counts counts;
};

static void
call_preview_begin(void *arg)
{
	struct previewed *p = arg;

	role_enter_session();
	assert_int_equal(speaker_export_preview(n.speaker, V4, &p->e), 0);
	assert_int_equal(export_preview_peer(p->e, p->peer, &p->then, p->cluster_id, p->policy), 0);
	export_preview_imports(p->e, p->import);
}

/* Runs the preview in the shortest slices; counts them. */
static void
call_preview_run(void *arg)
{
	struct previewed *p = arg;
	struct shards_table t;
	uint32_t last;
	int err = 0;

	role_enter_session();
	shards_table(&n.shards, n.table, &t);
	last = shards_limit(&t);
	while (p->slices > 0 && p->at < last) {
		p->at = export_preview_run(p->e, p->at, last, 0, &err);
		assert_int_equal(err, 0);
		p->slices--;
	}
	if (p->at >= last)
		assert_int_equal(export_preview_default(p->e), 0);
}

static void
call_preview_end(void *arg)
{
	struct previewed *p = arg;

	role_enter_session();
	export_preview_counts(p->e, p->peer, &p->counts);
	export_preview_destroy(p->e);
}

static void
preview_run(struct previewed *p, uint32_t slices)
{
	p->slices = slices;
	thread_call(n.session, call_preview_run, p);
}

static struct preview_counts
preview_end(struct previewed *p)
{
	preview_run(p, UINT32_MAX);
	thread_call(n.session, call_preview_end, p);
	return p->counts;
}

static struct preview_counts
preview_of(unsigned id, const struct config_peer *then, uint32_t cluster_id)
{
	struct previewed p = {.peer = {(uint16_t)id},
		.then = *then,
		.policy = policy_accept_all(),
		.cluster_id = cluster_id};

	thread_call(n.session, call_preview_begin, &p);
	return preview_end(&p);
}

static struct preview_counts
preview(bool self, bool originate)
{
	struct config_peer then = peer_of(1, self, originate);

	return preview_of(1, &then, OWN_ID);
}

#define expect_counts(got, add, remove, change)                                                    \
	do {                                                                                       \
		struct preview_counts c_ = got;                                                    \
		assert_int_equal(c_.added, add);                                                   \
		assert_int_equal(c_.removed, remove);                                              \
		assert_int_equal(c_.changed, change);                                              \
	} while (0)

/* The default route is advertised once, whether originated or in the table. */
static void
test_default(void **state)
{
	for (unsigned now = 0; now < 2; now++) {
		begin(1, true, now);
		originate(0x0a000000, 8, 0);
		told(1, 1 + now);
		/* no default route in the table */
		expect_counts(preview(true, now), 0, 0, 0);
		expect_counts(preview(true, !now), !now, now, 0);
		/* a default route in the table with the same attributes */
		originate(0, 0, 0);
		told(1, 2);
		expect_counts(preview(true, now), 0, 0, 0);
		expect_counts(preview(true, !now), 0, 0, 0);
		/* a different default route */
		originate(0x0a010000, 16, 0);
		originate(0, 0, 7);
		originate(0x0a020000, 16, 0);
		told(1, 4);
		expect_counts(preview(true, now), 0, 0, 0);
		expect_counts(preview(true, !now), 0, 0, 1);
		end(1);
	}
}

/* A default route from a peer is not advertised back to the same peer. */
static void
test_default_of_its_own(void **state)
{
	union script_attrs a;

	begin(1, false, false);
	script_attrs(&a, PEER_AS + 1, NEXT_HOP);
	script_send_prefix(&s[0], V4, &a.a, "0.0.0.0/0");
	wait_for(node_paths(&n, 0, 0) == 1);
	originate(0x0a000000, 8, 0);
	told(1, 1);
	expect_counts(preview(false, false), 0, 0, 0);
	expect_counts(preview(false, true), 1, 0, 0);
	end(1);
}

/* RFC 4456 8: the cluster id affects reflected routes only. */
static void
test_cluster(void **state)
{
	static const struct {
		bool client;
		uint32_t cluster_id;
		unsigned changed;
	} t[] = {{true, OWN_ID, 0}, {true, 9, 1}, {false, 9, 0}};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint32_t asn[] = {OWN_AS, t[i].client ? OWN_AS : PEER_AS};
		struct config_peer c[2];
		union script_attrs a;

		node_begin(&n, OWN_AS, OWN_ID);
		for (unsigned k = 0; k < 2; k++) {
			struct bgp_open_options o = script_open(asn[k], PEER_ID + k);

			c[k] = peer_config(asn[k], OWN_AS, 2 + k);
			c[k].route_reflector_client = asn[k] == OWN_AS;
			node_peer(&n, 1 + k, &c[k], policy_accept_all());
			script_establish(&s[k], &n, 2 + k, &o);
			wait_for(node_view(&n, 1 + k).families[V4].end_of_rib_sent);
		}
		script_attrs(&a, 0, NEXT_HOP);
		a.a.local_pref = 100;
		a.a.has |= ATTR_HAS_LOCAL_PREF;
		script_send_prefix(&s[0], V4, &a.a, "10.0.0.0/8");
		told(2, 1);
		expect_counts(preview_of(2, &c[1], t[i].cluster_id), 0, 0, t[i].changed);
		end(2);
	}
}

/* The peer gets its own group during the preview: every route is counted exactly once. */
static void
test_group_split(void **state)
{
	struct previewed p = {
		.peer = {2}, .then = peer_of(2, true, false), .policy = policy_deny_all()};
	struct session_policies policies = {
		.export_policy[V4] = policy_accept_all(), .has_import[V4] = true};
	struct config_peer other = peer_of(2, true, false);
	struct node_call call = {.id = {2}, .config = &other, .policies = &policies};
	uint32_t group;

	begin(2, true, false);
	for (unsigned i = 0; i < ROUTES; i++)
		originate(0x0a000000 + i * 256, 24, 0);
	told(1, ROUTES);
	told(2, ROUTES);
	group = node_view(&n, 2).families[V4].group.id;
	assert_int_equal(node_view(&n, 1).families[V4].group.id, group);
	thread_call(n.session, call_preview_begin, &p);
	preview_run(&p, 3);
	assert_in_range(p.at, 1, ROUTES - 1);
	other.families[V4].remove_private_as = true;
	node_do(&n, call_update, &call);
	assert_false(call.result);
	wait_for(node_view(&n, 2).families[V4].group.id != group);
	preview_run(&p, 1);
	expect_counts(preview_end(&p), 0, ROUTES, 0);
	end(2);
}

/* Previews import policy `policy` for peer 1; returns the counts for peer `id`. */
static struct preview_counts
preview_import(const struct policy *policy, unsigned id, bool originate)
{
	struct preview_config c = {
		.arena = n.arena, .shards = &n.shards, .table = n.table, .family = V4};
	struct previewed p = {.peer = {(uint16_t)id},
		.then = peer_of(id, false, originate),
		.policy = policy_accept_all(),
		.cluster_id = OWN_ID};
	struct preview_counts counts;

	assert_int_equal(preview_create(&c, &p.import), 0);
	assert_int_equal(preview_peer(p.import, (struct peer_id){1}, policy, 0), 0);
	thread_call(n.session, call_preview_begin, &p);
	counts = preview_end(&p);
	preview_destroy(p.import);
	return counts;
}

/* Exports are evaluated on the best paths after the imports of the same change. */
static void
test_imports(void **state)
{
	static const char *const prefix[] = {"10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"};
	union script_attrs a;

	begin(3, false, false);
	for (unsigned peer = 1; peer <= 2; peer++) {
		script_attrs(&a, PEER_AS + peer, NEXT_HOP);
		for (unsigned i = peer - 1; i < 3; i += peer)
			script_send_prefix(&s[peer - 1], V4, &a.a, prefix[i]);
	}
	wait_for(node_paths(&n, 0x0a010000, 16) == 2);
	wait_for(node_paths(&n, 0, 0) == 1);
	originate(0x0a020000, 16, 0);
	told(3, 4);
	told(2, 4);
	told(1, 1);
	expect_counts(preview_import(policy_accept_all(), 3, false), 0, 0, 0);
	/* 10.1/16 remains through peer 2, the others are withdrawn */
	expect_counts(preview_import(policy_deny_all(), 3, false), 0, 2, 1);
	/*
	 * a new best path from peer 2 is not advertised back to peer 2; peer 1 now receives a path
	 * of peer 2
	 */
	expect_counts(preview_import(policy_deny_all(), 2, false), 0, 3, 0);
	expect_counts(preview_import(policy_deny_all(), 1, false), 1, 0, 0);
	/* our default route replaces the withdrawn default route */
	expect_counts(preview_import(policy_deny_all(), 3, true), 0, 1, 2);
	end(3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_default_of_its_own),
		cmocka_unit_test(test_cluster),
		cmocka_unit_test(test_group_split),
		cmocka_unit_test(test_imports),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
