/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker on tables in a region whose writer is faulty or hostile: any word of the tables may have any
 * value, and may change while the worker reads (docs/decisions/0033-what-keelfwd-reads.md). The worker reads
 * nothing outside of the place of the region, writes nothing there, and ends.
 *
 * A child process runs the packets. All memory around the region is unmapped, and the worker cannot write
 * the region: a wrong access is a signal. Packet buffers are as in wire_rig.h.
 *
 * KEEL_SEED (1), KEEL_RUNS (rounds; 4,000, with sanitizers 600): for long runs.
 */
#include "lpm/base/bounds.h"
#include "lpm/fib_read.h"
#include "lpm/range_table.h"
#include "lpm/base/region.h"
#include "lpm/shared_tables.h"
#include "tests/lpm/size.h"
#include "wire_rig.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef KEEL_SANITIZED
#define RUNS 600
#else
#define RUNS 4000
#endif
#define PLACE 1u
#define BYTES ((size_t)1 << 30)
#define CHILD_S 300 /* a child that takes longer does not end */
#define TREE ((struct vrf_id){3})
#define PAINTED ((struct vrf_id){4})
#define TREE_LABEL (LABEL_FIRST + LABELS)
#define PAINTED_LABEL (LABEL_FIRST + LABELS + 1)
#define SPOTS_MAX 128

/* A part of the tables that the packets of this test use. */
struct spot {
	char *at;
	size_t bytes;
	bool wide; /* written as a whole: a range of the first level */
};

static struct spot spot[SPOTS_MAX];
static unsigned spots;
static struct region *region;
static ptrdiff_t alias; /* from the region to its mapping for writing */
static char *trap; /* memory that nobody may read */
static struct fib_reader reader;
static struct path_lists *view;
static _Atomic uint64_t *shown; /* the round of the child */

/* ---- tables ---- */

static void
spot_add(const void *at, size_t bytes, bool wide)
{
	assert_true(spots < SPOTS_MAX);
	spot[spots++] = (struct spot){(char *)(uintptr_t)at, bytes, wide};
}

static void
route(struct vrf_id vrf, const char *text, struct path_list_id list)
{
	struct prefix p;

	role_enter_fib();
	assert_int_equal(prefix_parse(text, &p), 0);
	assert_int_equal(fib_set(lab.fib, vrf, &p, list), 0);
}

static struct path_list_id
list_instance(struct vrf_id vrf)
{
	struct path_list_id list;

	role_enter_fib();
	assert_int_equal(path_list_get(lab.lists, PATH_LIST_INSTANCE, vrf.v, NULL, 0, &list), 0);
	return list;
}

static struct path_list_id far_list; /* of 64 paths, behind the array of lists */

/* Besides the tables of the rig: a tree, a painted table of an instance, and lists that lead there. */
static void
more_tables(void)
{
	struct label_entry tree = {.op = LABEL_POP_INSTANCE, .vrf = TREE},
			   painted = {.op = LABEL_POP_INSTANCE, .vrf = PAINTED};
	struct path path[PATHS_MAX];
	char text[32];

	role_enter_fib();
	for (unsigned i = 0; i < PATHS_MAX; i++)
		path[i] = path_to(HOP_PLAIN + i % HOP_TINY, i % 3 > 0 ? LABEL_NONE : 9100 + i);
	far_list = list_of(PATH_LIST_FORWARD, path, PATHS_MAX);
	route(VRF_DEFAULT, "10.128.0.0/9", far_list);
	assert_int_equal(fib_instance_add(lab.fib, TREE, AFI_IPV4), 0);
	assert_int_equal(fib_vrf_add(lab.fib, PAINTED, AFI_IPV4), 0);
	assert_int_equal(fib_vrf_add(lab.fib, PAINTED, AFI_IPV6), 0);
	for (unsigned i = 0; i < COMPACT_TREE_FROM + 50; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.0/25", i >> 8, i & 255);
		route(TREE, text, list_to(HOP_PLAIN, LABEL_NONE));
	}
	make_routes(PAINTED);
	route(VRF_DEFAULT, "20.0.0.0/8", list_instance(TREE));
	route(VRF_DEFAULT, "21.0.0.0/8", list_instance((struct vrf_id){1}));
	route(VRF_DEFAULT, "22.0.0.0/8", list_instance(PAINTED));
	route(VRF_DEFAULT, "200a::/16", list_instance((struct vrf_id){1}));
	route(VRF_DEFAULT, "200b::/16", list_instance(PAINTED));
	/* answers of rte_lpm's table, and of all levels of the IPv6 table */
	route(VRF_DEFAULT, "10.1.2.3/32", list_to(HOP_SMALL, LABEL_NONE));
	route(VRF_DEFAULT, "2001:0:0:1:2:3:4:5/128", list_to(HOP_SMALL, LABEL_NONE));
	route((struct vrf_id){1}, "2001:0:0:1:2:3:4:5/128", list_to(HOP_SMALL, LABEL_NONE));
	assert_int_equal(label_table_set(fib_labels(lab.fib), TREE_LABEL, &tree), 0);
	assert_int_equal(label_table_set(fib_labels(lab.fib), PAINTED_LABEL, &painted), 0);
	lab_commit(&lab);
}

static void
find_spots(void)
{
	const struct fib_generation *g = fib_read_begin(&reader);
	const struct label_page *page = atomic_load(&reader.labels->page[0]);

	spot_add((const void *)(uintptr_t)reader.current, sizeof(*reader.current), false);
	for (unsigned v = 0; v <= PAINTED.v; v++) {
		const uint16_t *answers = g->v4[v].answers;
		const uint32_t *words = g->v6[v].words;

		spot_add(&g->v4[v], sizeof(g->v4[v]), false);
		spot_add(&g->v6[v], sizeof(g->v6[v]), false);
		if (g->v4[v].compact != NULL)
			spot_add(g->v4[v].compact,
				g->v4[v].compact->kind == COMPACT_TREE ? 8192 : 512, false);
		if (g->v6[v].compact != NULL)
			spot_add(g->v6[v].compact,
				range_table_bytes(compact_ranges(g->v6[v].compact)), false);
		if (answers != NULL) {
			const struct rte_lpm *lpm = g->v4[v].lpm;

			spot_add(&lpm->tbl8, sizeof(lpm->tbl8), false);
			spot_add(lpm->tbl8, 2 * 1024, false);
			spot_add(&answers[10 << 16], 13u << 17, true);
			spot_add(&lpm->tbl24[10 << 16], 13u << 18, true);
		}
		if (words != NULL) {
			spot_add(&words[0x2001 << 8], 11 * 1024, true);
			spot_add(&words[TABLE_V6_FIRST_GROUP << 8], 30 * 1024, false);
			spot_add(&words[TABLE_V6_FIRST_GROUP << 8], 30 * 1024, true);
		}
	}
	spot_add(reader.path_lists, 40 * sizeof(struct path_list), false);
	spot_add((const void *)(uintptr_t)reader.next_hops, 12 * sizeof(uint64_t), false);
	for (unsigned i = 1; i <= HOP_TINY; i++) /* port and lengths */
		spot_add(&reader.adjacencies[i], offsetof(struct adjacency, label), false);
	for (unsigned i = 1; i < 24; i++)
		spot_add(&reader.path_lists[i], 2 * sizeof(struct path), false);
	spot_add(&reader.path_lists[far_list.v], sizeof(uint64_t), false);
	spot_add(&reader.path_lists_far[far_list.v], sizeof(struct path_list_far), false);
	spot_add(reader.adjacencies, 12 * sizeof(struct adjacency), false);
	spot_add(reader.labels->page, sizeof(void *), false);
	spot_add(&page->word[LABEL_FIRST], (LABELS + 2) * sizeof(uint64_t), false);
	spot_add(&reader.tunnels->set, sizeof(void *), false);
	spot_add(atomic_load(&reader.tunnels->set), 20, false);
}

static void
begin(void)
{
	const struct bounds bounds = bounds_of(region_place(PLACE), BYTES);
	int fd = region_memfd("faults", BYTES);
	char *other;

	assert_true(fd >= 0);
	assert_int_equal(region_create(fd, PLACE, BYTES, &region), 0);
	assert_int_equal(arena_create_in("tables", region, &lab.shared), 0);
	rig_begin();
	more_tables();
	view = malloc(path_lists_bytes());
	assert_non_null(view);
	assert_true(fib_reader_bound(fib_reader(lab.fib), &bounds, &reader));
	assert_true(path_lists_bound(lab.lists, &bounds, view));
	worker->fib = &reader;
	worker->path_lists = view;
	other = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	trap = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(other != MAP_FAILED && trap != MAP_FAILED);
	alias = other - (char *)region_place(PLACE);
	find_spots();
	assert_int_equal(mprotect(region_place(PLACE), BYTES, PROT_READ), 0);
}

static void
end(void)
{
	assert_int_equal(mprotect(region_place(PLACE), BYTES, PROT_READ | PROT_WRITE), 0);
	rig_end();
	free(view);
	arena_destroy(lab.shared);
	region_destroy(region);
}

/* ---- faults ---- */

static uint64_t
value(uint64_t *seed, uint64_t was)
{
	uint64_t base = (uintptr_t)region_place(PLACE);

	switch (lab_below(seed, 11)) {
	case 0:
		return lab_random(seed);
	case 1:
		return (uintptr_t)trap + lab_below(seed, 1 << 14) * 64u;
	case 2: /* inside, at any place */
		return base + (lab_random(seed) % BYTES & ~UINT64_C(63));
	case 3: /* in what the packets use */
		return (uintptr_t)spot[lab_below(seed, spots)].at & ~UINT64_C(63);
	case 4: /* the last lines, and the first that are outside */
		return base + BYTES - 128 + lab_below(seed, 4) * 64u;
	case 5:
		return base - 64 + lab_below(seed, 16);
	case 6:
		return lab_below(seed, lab_below(seed, 2) ? 256 : 32);
	case 7:
		return UINT64_MAX - lab_below(seed, 3);
	case 8:
		return was ^ UINT64_C(1) << lab_below(seed, 64);
	case 9: /* groups that exist: a table with circles */
		return UINT64_C(0x8000000080000000) |
		       (TABLE_V6_FIRST_GROUP + lab_below(seed, 30)) * UINT64_C(0x100000001);
	default: /* any group of a table */
		return UINT64_C(0x80000000) * lab_below(seed, 2) | lab_random(seed) >> 32 |
		       (uint64_t)lab_below(seed, 2) * 0x03000000;
	}
}

/* Writes a part of a spot. */
static void
spoil(uint64_t *seed)
{
	const struct spot *s = &spot[lab_below(seed, spots)];
	size_t size = (size_t)1 << lab_below(seed, 4), at;
	uint64_t was = 0, is;

	if (s->wide) {
		size_t from = lab_below(seed, (uint32_t)(s->bytes / 1024)) * 1024u,
		       bytes = s->bytes - from < 1 << 18 ? s->bytes - from : 1 << 18;

		is = value(seed, 0);
		for (at = from; at < from + bytes; at += sizeof(is))
			memcpy(s->at + alias + at, &is, sizeof(is));
		return;
	}
	if (size > s->bytes)
		size = s->bytes;
	at = lab_below(seed, (uint32_t)(s->bytes / size)) * size;
	memcpy(&was, s->at + at, size);
	is = value(seed, was);
	memcpy(s->at + alias + at, &is, size);
}

static void
copy_spots(char *kept, bool back)
{
	for (unsigned i = 0; i < spots; kept += spot[i++].bytes)
		memcpy(back ? spot[i].at + alias : kept, back ? kept : spot[i].at, spot[i].bytes);
}

/* ---- packets ---- */

/* `fill` octets follow the packet's own. */
static unsigned
packet_v4(uint8_t *ip, unsigned fill, uint64_t *seed)
{
	static const uint8_t known[] = {1, 2, 3};
	uint8_t first = (uint8_t)(10 + lab_below(seed, 13));

	memset(ip, 0, 60);
	ip[0] = lab_below(seed, 8) == 0 ? 0x46 : 0x45;
	if (ip[0] == 0x46)
		memset(ip + 20, 1, 4);
	ip[8] = (uint8_t)(lab_below(seed, 8) == 0 ? 1 : 64);
	ip[9] = 17;
	ip[6] = lab_below(seed, 2) ? 0x40 : 0;
	memcpy(ip + 12, (uint8_t[]){192, 0, 2, (uint8_t)lab_below(seed, 4)}, 4);
	for (unsigned i = 17; i < 20; i++)
		ip[i] = (uint8_t)lab_random(seed);
	ip[16] = first;
	if (lab_below(seed, 3) == 0)
		memcpy(ip + 17, known, sizeof(known));
	if (lab_below(seed, 12) == 0)
		memcpy(ip + 16, (uint8_t[]){198, 18, 0, 1}, 4);
	put16(ip + 2, 60 + fill);
	put16(ip + 10, lab_checksum(ip, (ip[0] & 15) * 4u));
	return 60;
}

static unsigned
packet_v6(uint8_t *ip, uint64_t *seed)
{
	memset(ip, 0, 60);
	ip[0] = 0x60;
	ip[5] = 20;
	ip[6] = 17;
	ip[7] = (uint8_t)(lab_below(seed, 8) == 0 ? 1 : 64);
	memcpy(ip + 8, (uint8_t[]){0x20, 1, 0xd, 0xb8, [15] = 9}, 16);
	for (unsigned i = 26; i < 40; i++)
		ip[i] = (uint8_t)lab_random(seed);
	ip[24] = 0x20;
	ip[25] = (uint8_t)(1 + lab_below(seed, 11));
	if (lab_below(seed, 2) == 0)
		memcpy(ip + 26, (uint8_t[]){0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5}, 14);
	if (ip[25] == 8)
		memcpy(ip + 26, (uint8_t[]){[13] = 1}, 14);
	return 60;
}

/* An input of wire_rig.h: packets that use each table. Returns the octets. */
static size_t
make_input(uint8_t *to, uint64_t *seed)
{
	unsigned packets = 1 + lab_below(seed, PACKETS - 1);
	size_t at = 1;

	to[0] = (uint8_t)(lab_random(seed) | (lab_below(seed, 4) ? RIG_MPLS : 0));
	for (unsigned i = 0; i < packets; i++) {
		uint8_t *head = to + at, *frame = head + HEAD;
		unsigned len = ETHER_LEN, kind = lab_below(seed, 4);

		memset(frame, 0, ETHER_LEN);
		head[0] = MEND_MAC;
		head[1] = head[2] = 0;
		if (kind >= 2) { /* labels, half of them in a UDP tunnel */
			uint32_t label = LABEL_FIRST + lab_below(seed, LABELS + 2);

			put16(frame + 12, 0x8847);
			frame[len] = (uint8_t)(label >> 12);
			frame[len + 1] = (uint8_t)(label >> 4);
			frame[len + 2] = (uint8_t)(label << 4 | 1);
			frame[len + 3] = 64;
			len += 4;
			if (kind == 3)
				head[0] |= MEND_UDP;
		}
		if (lab_below(seed, 2)) {
			if (kind < 2)
				put16(frame + 12, 0x0800);
			if (lab_below(seed, 3) == 0) /* longer than an MTU */
				head[0] |= MEND_FILL;
			len += packet_v4(frame + len, head[0] & MEND_FILL ? 7 * 256 : 0, seed);
		} else {
			if (kind < 2)
				put16(frame + 12, 0x86dd);
			len += packet_v6(frame + len, seed);
		}
		if (len % 4 != 0) {
			memset(frame + len, 0, 4);
			len += 4 - len % 4;
		}
		head[3] = (uint8_t)(len / 4);
		at += HEAD + len;
	}
	return at;
}

static void
packets(uint64_t *seed, unsigned inputs)
{
	static uint8_t input[1 + PACKETS * (HEAD + 256)];

	for (unsigned i = 0; i < inputs; i++)
		run_input(input, make_input(input, seed));
}

/* ---- tests ---- */

static bool keep_on;

static void *
spoil_always(void *arg)
{
	uint64_t *seed = arg;

	while (__atomic_load_n(&keep_on, __ATOMIC_RELAXED))
		spoil(seed);
	return NULL;
}

/* In the child: rounds of packets on spoilt tables, whose content the next round mends. */
static void
rounds(uint64_t seed, uint64_t count, bool during)
{
	size_t bytes = 0;
	char *kept;

	for (unsigned i = 0; i < spots; i++)
		bytes += spot[i].bytes;
	kept = malloc(bytes);
	assert_non_null(kept);
	copy_spots(kept, false);
	for (uint64_t round = 0; round < count; round++) {
		uint64_t of_round = seed * 1000003 + round, other = of_round ^ 1;
		pthread_t thread;

		atomic_store(shown, round);
		for (unsigned n = 1 + lab_below(&of_round, 12); n > 0; n--)
			spoil(&of_round);
		keep_on = during;
		if (during)
			assert_int_equal(pthread_create(&thread, NULL, spoil_always, &other), 0);
		packets(&of_round, 4);
		__atomic_store_n(&keep_on, false, __ATOMIC_RELAXED);
		if (during)
			pthread_join(thread, NULL);
		copy_spots(kept, true);
	}
	free(kept);
}

/* In the child: each octet of the small spots takes the values around the limits, one at a time. */
static void
octets(uint64_t seed)
{
	static const uint8_t values[] = {0, 1, 2, 4, 5, 7, 8, 15, 16, 17, 24, 63, 127, 128, 255};

	for (unsigned i = 0; i < spots; i++) {
		for (unsigned at = 0; spot[i].bytes <= 32 && at < spot[i].bytes; at++) {
			char *to = spot[i].at + alias + at, was = *to;

			atomic_store(shown, i * 100 + at);
			for (unsigned v = 0; v < sizeof(values); v++) {
				*to = (char)values[v];
				packets(&seed, 1);
			}
			*to = was;
		}
	}
}

/* count 0: octets(). */
static void
in_a_child(uint64_t count, bool during)
{
	uint64_t seed = test_setting("KEEL_SEED", 1);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGBUS, SIG_DFL);
		(void)signal(SIGFPE, SIG_DFL);
		(void)alarm(CHILD_S);
		if (count > 0)
			rounds(seed, count, during);
		else
			octets(seed);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("seed %lu round %lu: signal %d", (unsigned long)seed,
			(unsigned long)atomic_load(shown), WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The packets reach what the spots are for. */
static void
whole_tables(void **state)
{
	const struct worker_stats *s = &worker->stats;
	uint64_t seed = 3;

	(void)state;
	packets(&seed, 400);
	assert_true(sent_all > 1000 && s->fragments > 0 && s->icmp_errors > 0);
	assert_true(s->drops[DROP_blackhole] > 0 && s->drops[DROP_unresolved] > 0);
	assert_true(host_packets > 0 && s->drops[DROP_mpls_removed] > 0);
	assert_int_equal(s->drops[DROP_invariant], 0);
	assert_int_equal(s->drops[DROP_bad_checksum] + s->drops[DROP_too_short], 0);
}

static void
limits(void **state)
{
	(void)state;
	in_a_child(0, false);
}

static void
faults_before(void **state)
{
	(void)state;
	in_a_child(test_setting("KEEL_RUNS", RUNS), false);
}

static void
faults_during(void **state)
{
	(void)state;
	in_a_child(test_setting("KEEL_RUNS", RUNS) / 4, true);
}

/* An MTU of the tables above the limit of a port: the driver gets no frame that overflows its buffers. */
static void
longer_than_a_port(void **state)
{
	static const uint16_t wrong[] = {UINT16_MAX, 1600}; /* whole packets; fragments, too */
	const size_t bytes = (HOP_TINY + 1) * sizeof(struct adjacency);
	struct adjacency *adj = (void *)((char *)(uintptr_t)reader.adjacencies + alias),
			 kept[HOP_TINY + 1];
	uint64_t seed = 4;

	(void)state;
	memcpy(kept, adj, bytes);
	for (unsigned i = 0; i < PORTS; i++)
		worker->tx[i].most = ETHER_LEN + 1500;
	for (unsigned k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
		_Atomic uint64_t *drops = &worker->stats.drops[DROP_invariant];
		uint64_t before = *drops, sent = sent_all, split = worker->stats.fragments;

		for (unsigned i = 1; i <= HOP_TINY; i++)
			adj[i].mtu = adj[i].mtu_plain = wrong[k];
		memset(longest_sent, 0, sizeof(longest_sent));
		packets(&seed, 400);
		for (unsigned i = 0; i < PORTS; i++)
			assert_in_range(longest_sent[i], 60, ETHER_LEN + 1500);
		assert_true(*drops > before + 100 && sent_all > sent + 1000);
		assert_int_equal(worker->stats.fragments, split);
	}
	for (unsigned i = 0; i < PORTS; i++)
		worker->tx[i].most = 0;
	memcpy(adj, kept, bytes);
}

/* keelfwd refuses tables whose arrays do not lie in the region as a whole. */
static void
arrays_inside(void **state)
{
	char *base = region_place(PLACE), *end = base + BYTES;
	const struct bounds bounds = bounds_of(base, BYTES);
	const struct {
		size_t at, bytes;
	} part[] = {{offsetof(struct fib_reader, current), sizeof(void *)},
		{offsetof(struct fib_reader, path_lists), PATH_LIST_MAX * sizeof(struct path_list)},
		{offsetof(struct fib_reader, next_hops), NEXT_HOP_MAX * sizeof(uint64_t)},
		{offsetof(struct fib_reader, adjacencies),
			ADJACENCY_MAX * sizeof(struct adjacency)},
		{offsetof(struct fib_reader, labels), sizeof(struct label_reader)},
		{offsetof(struct fib_reader, tunnels), sizeof(struct tunnel_reader)}};

	(void)state;
	for (unsigned i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		size_t lines = (part[i].bytes + 63) / 64 * 64;
		char *const good[] = {base, end - lines}, *const wrong[] = {base - 64, base + 8,
								  end - lines + 64, end, NULL,
								  trap};
		struct fib_reader r = *fib_reader(lab.fib), out;

		for (unsigned k = 0; k < 2; k++) {
			memcpy((char *)&r + part[i].at, &good[k], sizeof(void *));
			assert_true(fib_reader_bound(&r, &bounds, &out));
		}
		for (unsigned k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			memcpy((char *)&r + part[i].at, &wrong[k], sizeof(void *));
			assert_false(fib_reader_bound(&r, &bounds, &out));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_tables),
		cmocka_unit_test(longer_than_a_port),
		cmocka_unit_test(arrays_inside),
		cmocka_unit_test(limits),
		cmocka_unit_test(faults_before),
		cmocka_unit_test(faults_during),
	};
	int failed;

	role_enter_main();
	role_enter_worker();
	shown = mmap(
		NULL, sizeof(*shown), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shown != MAP_FAILED);
	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	end();
	return failed;
}
