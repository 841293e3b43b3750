/* SPDX-License-Identifier: BSD-3-Clause */
/* What a commit does to a peer whose session comes up while the shards are being told (test_apply.py has all that needs no such luck). */
#include "control/apply/apply_impl.h"

#include "control/config/policy_compile.h"
#include "tests/control/config_test.h"
#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define NEXT_HOP 0xc0000263u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script s;
static struct layers layers;
static struct apply *apply;
static struct bgp_open_options o;

static void
report(void *ctx, const char *topic, json_t *members)
{
	(void)ctx;
	(void)topic;
	json_decref(members);
}

static struct config *
config_of(const char *local_pref, const char *keep)
{
	static const char text[] =
		"{'router': {'asn': 64512, 'router_id': '192.0.2.1'}, 'route_policies': [{'name': "
		"'in', 'nodes': ["
		"{'seq': 10, 'action': 'permit', 'set': {'local_pref': %s}}]}], 'bgp': {'peers': [{"
		"'address': '127.0.0.2', 'asn': 65001, 'passive': true, 'families': "
		"{'ipv4-unicast': {"
		"'import_policy': 'in', 'export_policy': 'accept-all', 'keep_all_routes': %s}}}]}}";
	struct faults faults = {0};
	struct config *c;
	char filled[1000];
	json_t *document;

	snprintf(filled, sizeof(filled), text, local_pref, keep);
	document = document_of(filled);
	c = config_parse(NULL, document, &faults);
	print_faults(&faults);
	assert_non_null(c);
	json_decref(document);
	faults_fini(&faults);
	return c;
}

/* The shard is busy for a while. What it does last before it hears of the commit is the table of a peer that comes meanwhile. */
static void
peer_comes(void *arg)
{
	struct adj_rib_in_counts counts = {0};
	union script_attrs a;

	(void)arg;
	role_enter_rib();
	for (unsigned i = 0; i < 50; i++) /* main has done all that it does without the shard */
		breathe();
	script_establish(&s, &n, 2, &o);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, 1);
	while (counts.received == 0) {
		shard_work(n.shard, now_ns(), now_ns() + SLICE_NS);
		shards_peer_counts(&n.shards, (struct peer_id){1}, V4, &counts);
		breathe();
	}
}

/* The effects of changing the only peer. */
static json_t *
change(struct config *next)
{
	json_t *effects = json_array();
	struct config *old = apply->running;
	struct change c = {
		.old = old, .next = next, .was = old->peers, .is = next->peers, .id = {1}};

	policy_set_keep(next->policies, old->policies);
	apply_run(apply, next);
	apply->peers->slot[1].config = next->peers;
	thread_post(n.rib[0], peer_comes, NULL);
	apply_peers_change(apply, &c, 1, effects);
	apply_pending_schedule(apply);
	config_free(old);
	return effects;
}

static void
expect_asked(struct config *was, struct config *is)
{
	struct apply_config c = {.layers = &layers, .running = was, .report = report};
	struct thread_config self = {.name = "main"};
	json_t *effects;

	node_begin(&n, OWN_AS, OWN_ID);
	layers = (struct layers){.shards = n.shards,
		.speaker = n.speaker,
		.session_thread = n.session,
		.rib_thread = {n.rib[0]}};
	assert_int_equal(thread_adopt(&self, &layers.main_thread), 0);
	c.jobs = jobs_create();
	assert_int_equal(apply_create(&c, &apply), 0);
	apply->peers->of_config = calloc(1, sizeof(struct peer_id));
	apply->peers->of_config[0] = peers_id_new(apply->peers);
	apply->peers->slot[1].config = was->peers;
	assert_int_equal(apply_peer_start(apply, was, was->peers, (struct peer_id){1}), 0);
	effects = change(is);
	assert_int_equal(json_array_size(effects), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(effects, 0), "effect")),
		"route-refresh-sent");
	assert_int_equal(node_view(&n, 1).families[V4].requests_sent, 1);
	json_decref(effects);
	script_close(&s);
	node_end(&n);
	apply_destroy(apply);
	thread_free(layers.main_thread);
	jobs_destroy(c.jobs);
}

/* Its routes were judged by the old policy: it is asked for them. */
static void
test_policy(void **state)
{
	o = script_open(PEER_AS, PEER_ID);
	expect_asked(config_of("110", "false"), config_of("120", "false"));
}

/* What was refused then is not kept. */
static void
test_keep(void **state)
{
	o = script_open(PEER_AS, PEER_ID);
	expect_asked(config_of("110", "false"), config_of("110", "true"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_keep),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
