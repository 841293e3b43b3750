/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits without a daemon: a session that comes up during a commit, and two routers in one
 * process. Other cases: test_apply.py.
 */
#include "control/apply/apply_impl.h"

#include "control/apply/candidate.h"
#include "control/config/policy_compile.h"
#include "control/host/host_routes.h"
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed.h"
#include "rib/feed/nexthop.h"
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

#define PORTS                                                                                      \
	"'ports': [{'name': 'east', 'device': 'net_null0'}, {'name': 'west', 'device': "           \
	"'net_null1'}]"

static struct config *
config_of(const char *local_pref, const char *keep)
{
	static const char text[] =
		"{'router': {'asn': 64512, 'router_id': '192.0.2.1'}, " PORTS
		", 'route_policies': [{'name': 'in', 'nodes': ["
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

/*
 * Keeps the shard busy: the last work before the shard receives the commit is the table of a peer
 * that comes up meanwhile.
 */
static void
peer_comes(void *arg)
{
	struct adj_rib_in_counts counts = {0};
	union script_attrs a;

	(void)arg;
	role_enter_rib();
	/* main has finished every step that does not need the shard */
	for (unsigned i = 0; i < 50; i++)
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
	struct works *works;

	policy_set_keep(next->policies, old->policies);
	apply_run(apply, next);
	apply->peers->slot[1].config = next->peers;
	thread_post(n.rib[0], peer_comes, NULL);
	works = apply_works_begin(apply, &c, 1, effects);
	assert_non_null(works);
	while (apply_works_step(works))
		;
	apply_works_end(works);
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
	apply_destroy(apply, false);
	thread_free(layers.main_thread);
	jobs_destroy(c.jobs);
}

/* The old policy evaluated the routes: the peer is asked for a refresh. */
static void
test_policy(void **state)
{
	o = script_open(PEER_AS, PEER_ID);
	expect_asked(config_of("110", "false"), config_of("120", "false"));
}

/* Routes refused before keep_all_routes were not kept. */
static void
test_keep(void **state)
{
	o = script_open(PEER_AS, PEER_ID);
	expect_asked(config_of("110", "false"), config_of("110", "true"));
}

/* ---- two routers in one process ---- */

/*
 * A router without a daemon: a shard, a speaker and a feed, each on its own thread, and a folder
 * for the history.
 */
struct router {
	struct node n;
	struct layers layers;
	struct arena *arena;
	struct host_routes *host_routes;
	struct jobs *jobs;
	struct apply *apply;
	char folder[64], file[96];
	unsigned reports;
	char told[256]; /* of peers, by peer_told() */
};
static struct router a, b;

static void
report_counted(void *ctx, const char *topic, json_t *members)
{
	struct router *r = ctx;

	r->reports += strcmp(topic, "commit") == 0;
	json_decref(members);
}

static bool
feed_work(void *ctx, uint64_t now, uint64_t deadline)
{
	role_enter_fib();
	return fib_feed_work(ctx, now, deadline);
}

static bool
feed_tells(void *ctx, const struct nexthop_message *m)
{
	(void)ctx;
	(void)m;
	return true;
}

static void
feed_resolves(void *ctx, uint16_t port, const struct ip_addr *addr, bool wanted)
{
	(void)ctx;
	(void)port;
	(void)addr;
	(void)wanted;
}

static void
peer_told(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	struct router *r = ctx;
	char text[ADDR_TEXT_MAX];
	size_t used = strlen(r->told);

	assert_int_equal(vrf.v, VRF_DEFAULT.v);
	snprintf(r->told + used, sizeof(r->told) - used, "%c%s ", present ? '+' : '-',
		addr_format(addr, text));
}

static void
router_begin(struct router *r, struct thread *main_thread, const char *local_pref)
{
	struct fib_feed_config feed = {
		.shards = &r->n.shard, .shard_count = 1, .batch_max = 64, .resolve = feed_resolves};
	struct thread_config fib = {.name = "fib", .work = feed_work};
	struct apply_config c = {.layers = &r->layers,
		.watch_ctx = r,
		.peer = peer_told,
		.config_file = r->file,
		.state_dir = r->folder,
		.running = config_of(local_pref, "false"),
		.report = report_counted,
		.report_ctx = r};

	memset(r, 0, sizeof(*r));
	node_begin(&r->n, OWN_AS, OWN_ID);
	assert_int_equal(arena_create("router", &r->arena), 0);
	r->layers = (struct layers){.arena_control = r->arena,
		.readers = r->n.readers,
		.shards = r->n.shards,
		.speaker = r->n.speaker,
		.main_thread = main_thread,
		.session_thread = r->n.session,
		.rib_thread = {r->n.rib[0]}};
	feed.arena = r->arena;
	assert_int_equal(nexthop_table_create(r->arena, feed_tells, NULL, &r->layers.nexthops), 0);
	feed.nexthops = r->layers.nexthops;
	assert_int_equal(fib_feed_create(&feed, &r->layers.feed), 0);
	fib.ctx = r->layers.feed;
	assert_int_equal(thread_create(&fib, &r->layers.fib_thread), 0);
	snprintf(r->folder, sizeof(r->folder), "/tmp/keel-test-apply-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->file, sizeof(r->file), "%s/keel.json", r->folder);
	c.jobs = r->jobs = jobs_create();
	assert_int_equal(host_routes_create(&r->layers, &r->host_routes), 0);
	c.host_routes = r->host_routes;
	assert_int_equal(apply_create(&c, &r->apply), 0);
	assert_int_equal(apply_start(r->apply), 0);
}

static void
router_end(struct router *r)
{
	thread_end(r->layers.fib_thread);
	thread_free(r->layers.fib_thread);
	host_routes_destroy(r->host_routes);
	fib_feed_destroy(r->layers.feed);
	nexthop_table_destroy(r->layers.nexthops);
	node_end(&r->n);
	apply_destroy(r->apply, false);
	jobs_destroy(r->jobs);
	arena_destroy(r->arena);
}

static void
committed(void *ctx, struct apply_commit_result *r)
{
	unsigned *calls = ctx;

	print_faults(&r->faults);
	assert_int_equal(r->err, 0);
	assert_true(r->persisted);
	++*calls;
}

/* Until the commit is on disk. */
static void
answer_await(const struct router *r, const unsigned *calls)
{
	while (*calls == 0)
		if (apply_commit_finish(r->apply))
			assert_true(disk_await(r->apply->disk, UINT64_C(60000000000)));
	assert_int_equal(*calls, 1);
}

static void
router_commit(struct router *r, const char *local_pref, uint32_t confirm_s)
{
	struct config *next = config_of(local_pref, "false");
	unsigned calls = 0;

	assert_int_equal(
		apply_commit_start(r->apply, next->document,
			&(struct apply_commit_order){.comment = "test", .confirm_s = confirm_s},
			committed, &calls),
		0);
	assert_int_equal(calls, 0);
	answer_await(r, &calls);
	config_free(next);
}

/* The local_pref of the running import policy, read from the document. */
static json_int_t
local_pref_of(const struct router *r)
{
	json_t *set = config_pointer_get(
		apply_running(r->apply)->document, "/route_policies/0/nodes/0/set/local_pref");

	return json_integer_value(set);
}

static size_t
commits_of(const struct router *r)
{
	json_t *all = apply_commits_json(r->apply);
	size_t count = json_array_size(json_object_get(all, "commits"));

	json_decref(all);
	return count;
}

/*
 * A commit, an unconfirmed commit and an edit affect only the given apply, and no other apply in
 * the process.
 */
static void
test_two(void **state)
{
	static const struct apply_user user = {"uid 1000", "alice"}, other = {"uid 1001", "bob"};
	struct thread_config self = {.name = "main"};
	struct thread *main_thread;
	unsigned calls = 0;

	(void)state;
	node_listens = false; /* apply_start() listens */
	assert_int_equal(thread_adopt(&self, &main_thread), 0);
	router_begin(&a, main_thread, "110");
	router_begin(&b, main_thread, "210");
	router_commit(&a, "120", 0);
	assert_int_equal(local_pref_of(&a), 120);
	assert_int_equal(local_pref_of(&b), 210);
	assert_int_equal(apply_revision(a.apply), 2);
	assert_int_equal(apply_revision(b.apply), 1);
	assert_int_equal(commits_of(&a), 2);
	assert_int_equal(commits_of(&b), 1);
	assert_int_equal(a.reports, 1);
	assert_int_equal(b.reports, 0);

	router_commit(&b, "220", 60);
	assert_int_equal(apply_commit_waiting(a.apply), 0);
	assert_int_equal(apply_commit_waiting(b.apply), 1);
	assert_int_equal(apply_confirm(a.apply, NULL, NULL), -ENOENT);
	assert_int_equal(apply_rollback(b.apply, 0, NULL, committed, &calls), 0);
	answer_await(&b, &calls);
	assert_int_equal(local_pref_of(&b), 210);
	assert_int_equal(local_pref_of(&a), 120);

	assert_int_equal(apply_candidate_replace(
				 a.apply, &user, json_deep_copy(apply_running(b.apply)->document)),
		1);
	assert_true(apply_candidate_edited(a.apply, &user));
	assert_false(apply_candidate_edited(a.apply, &other));
	assert_false(apply_candidate_edited(b.apply, &user));
	router_end(&a);
	router_end(&b);
	thread_free(main_thread);
}

static struct thread *window_thread;
static unsigned window_calls;
static int window_err;

static void
window_committed(void *ctx, struct apply_commit_result *r)
{
	window_err = r->err;
	++*(unsigned *)ctx;
}

static void
window_quit(struct timer *t)
{
	if (window_calls > 0)
		thread_quit(window_thread);
	else
		assert_int_equal(timer_arm(window_thread, t, 1000000), 0);
}

/*
 * A time for confirmation ends during the next commit, which has a time of its own: the next commit stays, or is refused where its files
 * are not on disk yet.
 */
static void
test_windows(void **state)
{
	struct thread_config self = {.name = "main"};
	struct timer quit = {.fire = window_quit};
	struct config *next;
	double remaining_s = 1;

	(void)state;
	node_listens = false;
	assert_int_equal(thread_adopt(&self, &window_thread), 0);
	router_begin(&a, window_thread, "110");
	router_commit(&a, "120", 1);
	for (unsigned i = 0; i < 1000 && remaining_s > 0; i++) {
		json_t *all = apply_commits_json(a.apply);

		json_unpack(all, "{s:{s:f}}", "confirm", "remaining_s", &remaining_s);
		json_decref(all);
		usleep(10000);
	}
	assert_true(remaining_s <= 0);
	next = config_of("130", "false");
	assert_int_equal(apply_commit_start(a.apply, next->document,
				 &(struct apply_commit_order){.confirm_s = 60}, window_committed,
				 &window_calls),
		0);
	config_free(next);
	assert_int_equal(timer_arm(window_thread, &quit, 1000000), 0);
	assert_int_equal(thread_run(window_thread), 0);
	assert_int_equal(window_calls, 1);
	assert_int_equal(local_pref_of(&a), window_err == 0 ? 130 : 110);
	assert_int_equal(apply_commit_waiting(a.apply), window_err == 0 ? 2 : 0);
	router_end(&a);
	thread_free(window_thread);
}

/* A commit of a document with `peers`, JSON objects separated by commas. */
static void
peers_commit(struct router *r, const char *peers)
{
	static const char text[] = "{'router': {'asn': 64512, 'router_id': '192.0.2.1'}, " PORTS
				   ", 'bgp': {'peers': [%s]}}";
	char filled[1000];
	json_t *document;
	unsigned calls = 0;

	r->told[0] = '\0';
	snprintf(filled, sizeof(filled), text, peers);
	document = document_of(filled);
	assert_int_equal(
		apply_commit_start(r->apply, document,
			&(struct apply_commit_order){.comment = "test"}, committed, &calls),
		0);
	answer_await(r, &calls);
	json_decref(document);
}

#define EAST                                                                                       \
	"{'address': 'fe80::2%east', 'asn': 65001, 'passive': true, 'families': {'ipv6-unicast': " \
	"{}}}"
#define WEST                                                                                       \
	"{'address': 'fe80::2%west', 'asn': 65001, 'passive': true, 'families': {'ipv6-unicast': " \
	"{}}}"

/* The data plane knows no zones. A link-local address stays there until the last peer with the address is removed. */
static void
test_twins(void **state)
{
	struct thread_config self = {.name = "main"};
	struct thread *main_thread;

	(void)state;
	node_listens = false;
	assert_int_equal(thread_adopt(&self, &main_thread), 0);
	router_begin(&a, main_thread, "110");
	peers_commit(&a, EAST "," WEST);
	assert_string_equal(a.told, "-127.0.0.2 +fe80::2 +fe80::2 ");
	peers_commit(&a, WEST);
	assert_string_equal(a.told, "");
	peers_commit(&a, EAST);
	assert_string_equal(a.told, "+fe80::2 ");
	peers_commit(&a, "");
	assert_string_equal(a.told, "-fe80::2 ");
	router_end(&a);
	thread_free(main_thread);
}

/* Runs also after a failed test. */
static int
remove_folders(void **state)
{
	char command[160];

	(void)state;
	node_listens = true;
	snprintf(command, sizeof(command), "rm -rf %s %s", a.folder, b.folder);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_keep),
		cmocka_unit_test_teardown(test_two, remove_folders),
		cmocka_unit_test_teardown(test_twins, remove_folders),
		cmocka_unit_test_teardown(test_windows, remove_folders),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
