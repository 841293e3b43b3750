/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/region.h"

#include "lpm/base/arena.h"
#include "tests/lpm/fib_rig.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PLACE 1u
#define BYTES ((size_t)1 << 30)

struct rig {
	int fd;
	struct region *region;
};

static int
setup(void **state)
{
	static struct rig r;

	r.fd = region_memfd("test", BYTES);
	assert_true(r.fd >= 0);
	assert_int_equal(region_create(r.fd, PLACE, BYTES, &r.region), 0);
	*state = &r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	region_destroy(r->region);
	close(r->fd);
	return 0;
}

static size_t
allocated(const struct rig *r)
{
	struct stat s;

	assert_int_equal(fstat(r->fd, &s), 0);
	return (size_t)s.st_blocks * 512;
}

/* Blocks of all sizes keep the content and are aligned. */
static void
blocks(void **state)
{
	struct rig *r = *state;
	struct {
		unsigned char *at;
		size_t size;
	} block[512] = {{0}};
	struct rng rng = rng_seeded(7);

	for (unsigned n = 0; n < 40000; n++) {
		unsigned i = rng_below(&rng, 512), bits = rng_below(&rng, 19);
		size_t size = 1 + rng_below(&rng, 1u << bits);
		size_t align = (size_t)16 << rng_below(&rng, 9);

		if (block[i].at != NULL) {
			assert_int_equal(block[i].at[0], (unsigned char)i);
			assert_int_equal(block[i].at[block[i].size - 1], (unsigned char)i);
			assert_true(region_usable(r->region, block[i].at) >= block[i].size);
			region_free(r->region, block[i].at);
		}
		block[i].at = region_alloc(r->region, align, size);
		block[i].size = size;
		assert_non_null(block[i].at);
		assert_int_equal((uintptr_t)block[i].at % align, 0);
		memset(block[i].at, (int)i, size);
	}
	for (unsigned i = 0; i < 512; i++)
		region_free(r->region, block[i].at);
}

/* Pages are zero, also after a free. A freed block returns the memory. */
static void
pages(void **state)
{
	struct rig *r = *state;
	size_t size = (size_t)8 << 20, before = allocated(r);
	unsigned char *p = region_alloc_pages(r->region, size), *q;

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % ((size_t)2 << 20), 0);
	assert_true(allocated(r) <= before + 65536);
	memset(p, 1, size);
	assert_true(allocated(r) >= size);
	region_free(r->region, p);
	assert_true(allocated(r) < before + size / 2);
	q = region_alloc_pages(r->region, size);
	assert_ptr_equal(q, p);
	for (size_t i = 0; i < size; i += 4096)
		assert_int_equal(q[i], 0);
	region_free(r->region, q);
}

static void
limits(void **state)
{
	struct rig *r = *state;
	struct region *second;
	void *all, *p;

	assert_null(region_alloc_pages(r->region, BYTES + 1));
	assert_null(region_alloc(r->region, 16, SIZE_MAX / 2));
	all = region_alloc_pages(r->region, BYTES - ((size_t)4 << 20));
	assert_non_null(all);
	assert_null(region_alloc_pages(r->region, (size_t)8 << 20));
	region_free(r->region, all);
	p = region_alloc_pages(r->region, (size_t)8 << 20);
	assert_non_null(p);
	region_free(r->region, p);
	/* a place is taken once, and the memory cannot be resized */
	assert_int_equal(region_create(r->fd, PLACE, BYTES, &second), -EEXIST);
	assert_int_equal(ftruncate(r->fd, 4096), -1);
	assert_int_equal(errno, EPERM);
}

/* keelfwd maps the tables that a keeld passes on only if keeld cannot shorten them. */
static void
passed_on(void **state)
{
	int fd = region_memfd("passed-on", 1 << 20),
	    loose = memfd_create("loose", MFD_ALLOW_SEALING);
	int none = open("/dev/null", O_RDWR);
	struct region *region;
	unsigned place;
	size_t bytes;

	(void)state;
	assert_int_equal(ftruncate(loose, 1 << 20), 0);
	assert_true(region_is_memfd(fd, 1 << 20));
	assert_false(region_is_memfd(fd, 2 << 20));
	assert_false(region_is_memfd(loose, 1 << 20));
	assert_int_equal(fcntl(loose, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_false(region_is_memfd(loose, 1 << 20));
	assert_false(region_is_memfd(none, 0));
	assert_int_equal(region_create(fd, PLACE, 1 << 20, &region), 0);
	close(fd);
	fd = region_file(region, &place, &bytes);
	assert_true(place == PLACE && bytes == 1 << 20);
	assert_true(region_is_memfd(fd, bytes));
	region_destroy(region);
	close(loose);
	close(none);
}

/* keeld gets the descriptor of the state of keelfwd: only the mapping of keelfwd may write. */
static void
sealed(void **state)
{
	struct region *region;
	int fd = region_memfd("sealed", 1 << 20);
	unsigned char *p, *q;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(region_create(fd, PLACE, 1 << 20, &region), 0);
	assert_int_equal(region_seal(fd), 0);
	p = region_alloc_pages(region, 200000);
	assert_non_null(p);
	memset(p, 7, 200000);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(region_map(fd, PLACE + 1, 1 << 20, true), -EPERM);
	assert_int_equal(region_map(fd, PLACE + 1, 1 << 20, false), 0);
	q = (unsigned char *)region_place(PLACE + 1) + (p - (unsigned char *)region_place(PLACE));
	assert_int_equal(q[199999], 7);
	assert_int_equal(mprotect(region_place(PLACE + 1), 4096, PROT_READ | PROT_WRITE), -1);
	region_free(region, p);
	assert_ptr_equal(region_alloc_pages(region, 200000), p);
	assert_int_equal(p[0] | p[199999], 0);
	region_unmap(PLACE + 1);
	region_destroy(region);
	close(fd);
}

/* Places that are in use are passed over, also if only a page is. */
static void
next_place(void **state)
{
	struct rig *r = *state;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	void *page = (char *)region_place(1) - 4096, *last = region_place(3);
	void *own = mmap(last, 4096, PROT_READ, flags, -1, 0); /* else: the system uses it */

	static_assert(PLACE == 1 && REGION_PLACES == 4, "0 and 2 are free");
	assert_ptr_equal(mmap(page, 4096, PROT_READ, flags, -1, 0), page);
	assert_int_equal(region_map_free(r->fd, 0, BYTES), 2);
	assert_int_equal(region_map_free(r->fd, 0, BYTES), -EEXIST);
	assert_int_equal(munmap(page, 4096), 0);
	assert_int_equal(region_map_free(r->fd, 0, BYTES), 0);
	region_unmap(0);
	region_unmap(2);
	if (own == last)
		munmap(own, 4096);
	assert_int_equal(region_map_free(r->fd, 0, REGION_BYTES_MAX + 1), -EINVAL);
}

/* Pages that exist are mapped, and no page is made; without time nothing is done. */
static void
populated(void **state)
{
	struct rig *r = *state;
	unsigned char *p = region_alloc_pages(r->region, (size_t)64 << 20);
	size_t before;

	assert_non_null(p);
	for (size_t at = 0; at < (size_t)64 << 20; at += 8192)
		p[at] = 1;
	before = allocated(r);
	assert_false(region_populate(r->fd, PLACE, 0));
	assert_true(region_populate(r->fd, PLACE, UINT64_MAX));
	assert_int_equal(allocated(r), before);
	region_free(r->region, p);
	assert_true(region_populate(r->fd, PLACE, 0)); /* no pages */
}

static void
in_an_arena(void **state)
{
	struct rig *r = *state;
	char *base = region_place(PLACE), *p, *q;
	struct arena *a;

	assert_int_equal(arena_create_in("region", r->region, &a), 0);
	p = arena_alloc(a, 100);
	assert_true(p >= base && p < base + BYTES);
	strcpy(p, "kept");
	p = arena_realloc(a, p, 100000);
	assert_string_equal(p, "kept");
	assert_true(arena_bytes(a) >= 100000);
	q = arena_calloc(a, 5000);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(q[i], 0);
	arena_release(a, q);
	arena_trim(a);
	arena_free(a, p);
	assert_int_equal(arena_bytes(a), 0);
	arena_destroy(a);
}

/* Runs fn in a second process with a mapping of the region. */
static int
elsewhere(struct rig *r, int (*fn)(const void *), const void *ctx)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		region_unmap(PLACE);
		_exit(region_map(r->fd, PLACE, BYTES, true) == 0 ? fn(ctx) : 99);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

struct tables {
	const struct fib_reader *reader;
	struct qsbr *qsbr;
	unsigned id;
};

static int
next_hop_port(const void *ctx)
{
	const struct tables *t = ctx;
	uint32_t ip = 0x0a010203, found; /* 10.1.2.3 */
	const struct fib_generation *g;
	struct fib_list to;
	struct fib_hop hop;
	bool up;

	qsbr_online(t->qsbr, t->id);
	g = fib_read_begin(t->reader);
	fib_read_v4_bulk(t->reader, g, VRF_DEFAULT, &ip, &found, 1);
	to = fib_read_head(t->reader, found);
	up = fib_read_path(t->reader, &to, 0, &hop);
	qsbr_offline(t->qsbr, t->id);
	return up ? hop.adjacency.port : 98;
}

/* A second process forwards by tables of this process, also after the destruction of the tables here. */
static void
tables_of_another_process(void **state)
{
	struct rig *r = *state;
	struct fib_config c = {
		.memory_bytes = (size_t)400 << 20, .tbl8_groups = 256, .groups_v6 = 256};
	struct adjacency adj = {.ether_len = 14, .port = 7, .mtu = 1500};
	struct ip_addr hop = addr_from_v4(0xc0000201);
	struct path path = {.label = LABEL_NONE};
	struct path_list_id to;
	struct arena *shared;
	struct path_lists *lists;
	struct tables t;

	role_enter_fib();
	assert_int_equal(arena_create("private", &arena), 0);
	assert_int_equal(arena_create_in("shared", r->region, &shared), 0);
	assert_int_equal(qsbr_create(shared, 8, &t.qsbr), 0);
	assert_int_equal(qsbr_register(t.qsbr, &t.id), 0);
	c.arena = arena;
	c.shared = shared;
	c.workers = t.qsbr;
	assert_int_equal(fib_create(&c, &fib), 0);
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
	lists = fib_path_lists(fib);
	assert_int_equal(next_hop_get(lists, VRF_DEFAULT, &hop, 7, &path.next_hop), 0);
	assert_int_equal(next_hop_up(lists, path.next_hop, &adj), 0);
	assert_int_equal(path_list_get(lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &to), 0);
	set("10.1.0.0/16", to);
	settle();
	t.reader = fib_reader(fib);
	assert_int_equal(elsewhere(r, next_hop_port, &t), 7);
	assert_int_equal(region_detach(r->region), 0);
	withdraw("10.1.0.0/16");
	settle();
	next_hop_down(lists, path.next_hop, NEXT_HOP_DOWN);
	next_hop_unref(lists, path.next_hop);
	path_list_unref(lists, to);
	fib_destroy(fib);
	assert_int_equal(elsewhere(r, next_hop_port, &t), 7);
	qsbr_unregister(t.qsbr, t.id);
	qsbr_destroy(t.qsbr);
	assert_int_equal(arena_bytes(shared), 0);
	arena_destroy(shared);
	arena_destroy(arena);
}

/* Bytes of the mapping of the region: in memory, and of these in huge pages. */
static void
region_pages(size_t *resident, size_t *huge)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	unsigned long from, end, kb;
	bool in = false;

	assert_non_null(f);
	*resident = *huge = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &end) == 2)
			in = from == (uintptr_t)region_place(PLACE);
		if (in && sscanf(line, "Rss: %lu", &kb) == 1)
			*resident = kb << 10;
		if (in && sscanf(line, "ShmemPmdMapped: %lu", &kb) == 1)
			*huge = kb << 10;
	}
	(void)fclose(f);
}

/* The first level and the groups that are in use have huge pages, if this kernel makes any. */
static void
huge_pages(void **state)
{
	struct rig *r = *state;
	struct fib_config c = {.memory_bytes = (size_t)400 << 20,
		.tbl8_groups = 8192,
		.groups_v6 = 256,
		.huge = true};
	size_t resident, huge, first,
		more = (size_t)8 << 20; /* 4,096 groups in each of two copies */
	struct arena *shared;
	bool makes;
	char *p = region_alloc_pages(r->region, (size_t)2 << 20);

	p[0] = 1;
	makes = madvise(p, (size_t)2 << 20, 25 /* MADV_COLLAPSE */) == 0;
	assert_int_equal(arena_create_in("shared", r->region, &shared), 0);
	c.shared = shared;
	fib_begin(c);
	assert_int_equal(fib_vrf_add(fib, VRF_DEFAULT, AFI_IPV4), 0);
	lists_make(1);
	region_pages(&first, &huge);
	for (unsigned i = 0; i < 4096; i++) {
		char prefix[32];

		(void)snprintf(prefix, sizeof(prefix), "10.%u.%u.128/25", i / 256, i % 256);
		set(prefix, list[0]);
	}
	settle();
	region_pages(&resident, &huge);
	assert_true(resident >= first + more);
	if (makes)
		assert_true(huge >= first + more - ((size_t)2 << 20));
	lists_drop(1);
	fib_unmake();
	arena_destroy(shared);
	region_free(r->region, p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(pages, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
		cmocka_unit_test(passed_on),
		cmocka_unit_test(sealed),
		cmocka_unit_test_setup_teardown(next_place, setup, teardown),
		cmocka_unit_test_setup_teardown(populated, setup, teardown),
		cmocka_unit_test_setup_teardown(in_an_arena, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_of_another_process, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
