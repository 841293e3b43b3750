/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fixture for tests of the fib, both families: one fib with the default VRF, path lists, and the
 * test's thread as a reader.
 */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/fib_read.h"
#include "lpm/base/qsbr.h"
#include "tests/lpm/text.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LISTS 2000

static struct arena *arena;
static struct qsbr *workers;
static struct fib *fib;
static struct path_list_id list[LISTS];
static unsigned me; /* reader handle of the test's thread */

static inline void
lists_make(unsigned count)
{
	struct path_lists *p = fib_path_lists(fib);

	for (unsigned i = 0; i < count; i++) {
		struct ip_addr addr = addr_from_v4(0xc0000200 + i);
		struct path path = {.label = LABEL_NONE};

		assert_int_equal(next_hop_get(p, VRF_DEFAULT, &addr, 0, &path.next_hop), 0);
		assert_int_equal(
			path_list_get(p, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list[i]), 0);
		next_hop_unref(p, path.next_hop);
	}
}

static inline void
lists_drop(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		path_list_unref(fib_path_lists(fib), list[i]);
}

/* Creates the fib, without tables. */
static inline void
fib_begin(struct fib_config config)
{
	role_enter_fib();
	assert_int_equal(arena_create("test", &arena), 0);
	assert_int_equal(qsbr_create(arena, 8, &workers), 0);
	assert_int_equal(qsbr_register(workers, &me), 0);
	config.arena = arena;
	config.workers = workers;
	assert_int_equal(fib_create(&config, &fib), 0);
}

static inline void
fib_unmake(void)
{
	fib_destroy(fib);
	qsbr_unregister(workers, me);
	qsbr_destroy(workers);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
}

static inline int
commit(void)
{
	int err;

	while ((err = fib_commit(fib, 1000)) == -EAGAIN)
		sched_yield();
	return err;
}

static inline void
settle(void)
{
	for (unsigned i = 0; i < 4 && !fib_settled(fib); i++)
		(void)commit();
	assert_true(fib_settled(fib));
}

static inline void
set(const char *text, struct path_list_id id)
{
	struct prefix p = pfx(text);

	assert_int_equal(fib_set(fib, VRF_DEFAULT, &p, id), 0);
}

static inline void
withdraw(const char *text)
{
	struct prefix p = pfx(text);

	assert_int_equal(fib_withdraw(fib, VRF_DEFAULT, &p), 0);
}

/*
 * Checks the route of `addr`: the prefix `expected` with list `id`, or a miss (NULL). A worker's
 * lookup must agree.
 */
static inline void
check(const char *addr, const char *expected, struct path_list_id id)
{
	struct fib_result result;
	struct ip_addr a;
	char text[PREFIX_TEXT_MAX];
	uint32_t out;

	assert_int_equal(addr_parse(addr, &a), 0);
	qsbr_online(workers, me);
	assert_int_equal(fib_lookup(fib, VRF_DEFAULT, &a, &result), 0);
	if (a.afi == AFI_IPV6) {
		fib_read_v6_bulk(fib_reader(fib), fib_read_begin(fib_reader(fib)), VRF_DEFAULT,
			&a.b, &out, 1);
		assert_int_equal(out, result.hit ? result.path_list.v : PATH_LIST_NONE);
	}
	qsbr_offline(workers, me);
	assert_int_equal(result.hit, expected != NULL);
	if (expected == NULL)
		return;
	assert_string_equal(prefix_format(&result.prefix, text), expected);
	assert_int_equal(result.path_list.v, id.v);
}
