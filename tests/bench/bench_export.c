/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cost of a policy change over kept routes, and of a full table for many members: a shard and an update group in one thread, the processor
 * time of each. Members have no sockets and copy messages into a buffer.
 *
 *   bench_export [--routes N] [--per-set N] [--members N] [--repeat N] [--external] [--own] [--mrt DUMP]
 *
 * --own: each member has a policy of its own, which adds a community, and joins before the load.
 */
#include "control/base/threads.h"
#include "control/export/update_group.h"
#include "rib/table/adj_rib_out.h"
#include "rib/policy/policy_build.h"
#include "tests/bench/shard_bench.h"
#include "tests/bench/table.h"
#include "tests/bench/tool.h"
#include "tests/lpm/rng.h"

#define NLRI_MAX 64u
#define SOURCE 100u
#define MEMBERS_MAX 1000u
#define BUFFER (512u << 10)

static struct {
	uint32_t routes, per_set, members, repeat;
	const char *mrt;
	bool external, own;
} opt = {.routes = 0, .per_set = 8, .members = 2, .repeat = 3};

static struct {
	struct shard_bench s;
	struct table table;
	struct adj_records *records;
	struct update_groups *groups;
	struct update_member *member[MEMBERS_MAX];
	struct policy *own[MEMBERS_MAX];
	unsigned members, turn;
	uint8_t *buffer;
	uint64_t export_ns, octets, marks;
} b;

static void
must(bool ok, const char *what)
{
	if (!ok)
		die(what, EINVAL);
}

/* ---- the table ---- */

static void
table_plain(struct table *t)
{
	uint64_t state = 1;

	memset(t, 0, sizeof(*t));
	t->set_count = (opt.routes + opt.per_set - 1) / opt.per_set;
	t->sets = calloc(t->set_count, sizeof(struct attr_set *));
	t->entry = calloc(opt.routes, sizeof(*t->entry));
	must(t->sets != NULL && t->entry != NULL, "memory");
	for (uint32_t i = 0; i < t->set_count; i++) {
		union rig_attrs a;
		uint32_t path[5];

		for (unsigned k = 0; k < 5; k++)
			path[k] = 1 + (uint32_t)(splitmix64(&state) % 60000);
		rig_attrs_make(&a, path, 3 + (unsigned)(splitmix64(&state) % 3), 0x0a000001);
		for (unsigned k = 0; k < 3; k++)
			rig_put_u32(a.a.var + a.a.as_path_len + 4 * k,
				(uint32_t)splitmix64(&state) & 0xffff7fff);
		a.a.community_count = 3;
		t->sets[i] = malloc(attr_set_size(&a.a));
		must(t->sets[i] != NULL, "memory");
		memcpy(t->sets[i], &a.a, attr_set_size(&a.a));
	}
	t->entry_count = opt.routes;
	for (uint32_t i = 0; i < opt.routes; i++)
		t->entry[i] =
			(struct table_entry){.prefix = prefix_from_v4(0x01000000u + (i << 8), 24),
				.set = i / opt.per_set};
}

/* ---- running ---- */

static void
on_mark(void *ctx, enum update_group_mark m)
{
	(void)ctx;
	b.marks += m != MARK_NONE;
}

static void
on_due(void *ctx, struct peer_id id)
{
	(void)id;
	*(bool *)ctx = true;
}

/* As work_export() in control/session/session.c. */
static bool
export_turn(void)
{
	uint64_t begun = shard_bench_cpu(), end = rig_clock() + SLICE_NS;
	unsigned k = 0;
	bool more = false;

	for (; k < b.members && rig_clock() < end; k++) {
		struct update_member *m = b.member[(b.turn + k) % b.members];
		struct update_io io = {.buf = b.buffer, .size = BUFFER, .mark = on_mark};
		struct update_turn t = update_member_turn(m, &io, update_share(end));

		must(t.error == 0, "exporting");
		b.octets += t.len;
		more |= t.state == TURN_MORE || t.others;
	}
	update_groups_news(b.groups, on_due, &more);
	b.turn += k < b.members ? k : 1;
	b.export_ns += shard_bench_cpu() - begun;
	qsbr_quiescent(b.s.rig.readers, b.s.reader);
	return more || k < b.members;
}

static void
settle(void)
{
	bool more;

	rig_put(&b.s.rig);
	do {
		more = shard_bench_turn(&b.s);
		while (export_turn())
			;
	} while (more);
}

static void
begin(void)
{
	shard_bench_reset(&b.s);
	b.export_ns = b.octets = 0;
}

static void
report(const char *what)
{
	struct update_group_stats st = {0};

	if (b.members > 0)
		update_group_stats(b.member[0], &st);
	printf("%-28s shard %7.1f ms  session %7.1f ms  %8.1f MB to members  %llu messages packed  "
	       "told %llu  "
	       "fell behind %llu\n",
		what, b.s.busy_ns / 1e6, b.export_ns / 1e6, b.octets / 1e6,
		(unsigned long long)st.messages, (unsigned long long)b.s.entries,
		(unsigned long long)st.fell_behind);
	fflush(stdout);
}

static void
announce(uint32_t routes)
{
	const struct table *t = &b.table;
	struct rib_nlri n[NLRI_MAX];
	unsigned count = 0, batches = 0;

	for (uint32_t i = 0; i < routes; i++) {
		n[count++] = (struct rib_nlri){.prefix = t->entry[i].prefix, .label = 0xfffff};
		if (i + 1 < routes && t->entry[i + 1].set == t->entry[i].set && count < NLRI_MAX)
			continue;
		shard_bench_update(&b.s, SOURCE, t->sets[t->entry[i].set], n, count);
		count = 0;
		if (++batches % 1000 == 0)
			while (export_turn())
				;
	}
	settle();
}

static struct policy *
policy_of(const char *name, uint32_t local_pref, uint32_t community)
{
	struct policy_builder *p;
	struct policy *out = NULL;
	uint8_t value[4];

	rig_put_u32(value, community);
	must(policy_builder_create(name, &p) == 0 && policy_builder_node(p, 10, true) == 0,
		"a policy");
	policy_builder_set_number(p, NUMBER_LOCAL_PREF, local_pref);
	must(policy_builder_set_communities(p, COMMUNITIES_STANDARD, EDIT_ADD, value, 1) == 0 &&
			policy_builder_finish(p, &out) == 0,
		"a policy");
	return out;
}

static void
join(unsigned i)
{
	struct update_member_config c = {
		.id = {(uint16_t)(SOURCE + 1 + i)},
		.rules = {.table = b.s.rig.table,
			.family = FAMILY_IPV4_UNICAST,
			.kind = opt.external ? UPDATE_EXTERNAL : UPDATE_INTERNAL,
			.own_as = RIG_OWN_ASN,
			.local_as = RIG_OWN_ASN,
			.peer_as = opt.external ? 65001 + i : RIG_OWN_ASN,
			.cluster_id = 0x01020304,
			.encode = {.as4 = true, .send_communities = true},
			.policy = policy_accept_all(),
			.peer = addr_from_v4(0xc6336401u + i)},
		.next_hop = addr_from_v4(0xc0000201u + i),
	};

	if (opt.own) {
		b.own[i] = policy_of("own", 200, 64512u << 16 | (1 + i));
		c.rules.policy = b.own[i];
	}
	must(update_group_join(b.groups, &c, &b.member[i]) == 0, "joining");
	b.members = i + 1;
}

static void
leave(void)
{
	for (; b.members > 0; b.members--) {
		struct update_group *g = update_group_leave(b.member[b.members - 1]);

		if (g != NULL)
			must(!update_group_dismantle(g, UINT64_MAX), "leaving");
	}
}

/* ---- policies ---- */

static void
replay(const struct policy *p, const char *what)
{
	begin();
	shard_peer_import(b.s.rig.shard, (struct peer_id){SOURCE}, rig_family(), p);
	shard_peer_replay(b.s.rig.shard, (struct peer_id){SOURCE}, rig_family());
	settle();
	report(what);
}

int
main(int argc, char **argv)
{
	const struct tool_option options[] = {{"routes", OPTION_U32, &opt.routes},
		{"per-set", OPTION_U32, &opt.per_set}, {"members", OPTION_U32, &opt.members},
		{"repeat", OPTION_U32, &opt.repeat}, {"external", OPTION_FLAG, &opt.external},
		{"own", OPTION_FLAG, &opt.own}, {"mrt", OPTION_TEXT, &opt.mrt}};
	struct update_groups_config c;
	struct policy *a, *z, *same;

	role_enter_rib();
	role_enter_session();
	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (opt.routes == 0 && opt.mrt == NULL)
		opt.routes = 1000000;
	must(opt.per_set > 0 && opt.members > 0 && opt.members <= MEMBERS_MAX,
		"--members, --per-set");
	if (opt.mrt == NULL)
		table_plain(&b.table);
	else
		must(table_read_mrt(&b.table, AFI_IPV4, opt.mrt, opt.routes) == 0, opt.mrt);
	for (uint32_t i = 0; i < b.table.set_count; i++)
		b.table.sets[i]->next_hop = rig_hop(0x0a000001);
	b.buffer = malloc(BUFFER);
	a = policy_of("a", 200, 64512u << 16 | 1);
	z = policy_of("z", 300, 64512u << 16 | 2);
	same = policy_of("same", 200, 64512u << 16 | 1);

	shard_bench_begin(&b.s, 0);
	must(adj_records_create(b.s.rig.arena, &b.records) == 0, "records");
	c = (struct update_groups_config){
		.arena = b.s.rig.arena, .shard = b.s.rig.shard, .records = b.records};
	must(update_groups_create(&c, &b.groups) == 0, "groups");
	rig_peer(&b.s.rig, SOURCE, 3356, true, true);
	rig_allow_as_in(&b.s.rig, SOURCE, UINT8_MAX);
	shard_peer_keep(b.s.rig.shard, (struct peer_id){SOURCE}, rig_family(), true);
	shard_peer_import(b.s.rig.shard, (struct peer_id){SOURCE}, rig_family(), a);
	rig_up(&b.s.rig, SOURCE, 3356, 7, true);
	for (unsigned i = 0; i < (opt.own ? opt.members : 1); i++)
		join(i);
	begin();
	announce(1); /* the next hop is requested */
	rig_tell(&b.s.rig, 0, 0x0a000001, true, true, 0);
	announce(b.table.entry_count);
	report(opt.own ? "load, all members" : "load, one member");
	begin();
	for (unsigned i = b.members; i < opt.members; i++)
		join(i);
	settle();
	if (!opt.own)
		report("the others join late");
	for (unsigned i = 0; i < opt.repeat; i++) {
		replay(z, "each route changes");
		replay(a, "and back");
		replay(same, "nothing changes");
		shard_peer_import(b.s.rig.shard, (struct peer_id){SOURCE}, rig_family(), a);
	}
	begin();
	for (unsigned i = 0; i < b.members && !opt.own; i++)
		update_group_refresh(b.member[i], true);
	settle();
	if (!opt.own)
		report("all ask for a refresh");
	leave();
	update_groups_destroy(b.groups);
	adj_records_destroy(b.records);
	shard_bench_end(&b.s);
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		policy_destroy(b.own[i]);
	policy_destroy(a);
	policy_destroy(z);
	policy_destroy(same);
	table_free(&b.table);
	free(b.buffer);
	return 0;
}
