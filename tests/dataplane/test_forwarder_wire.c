/* SPDX-License-Identifier: BSD-3-Clause */
/* The addresses of tables that keelfwd takes from keeld. */
#include "dataplane/process/forwarder_wire.h"
#include "lpm/base/qsbr.h"
#include "lpm/shared_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* Workers read and write the whole of an object, not the first bytes alone. */
static void
test_publish(void **state)
{
	static alignas(64) char region[65536];
	char *const end = region + sizeof(region);
	struct forwarder_publish p = {.fib = (uintptr_t)region,
		.path_lists = (uintptr_t)region,
		.qsbr = (uintptr_t)region,
		.worker_count = 2,
		.reader = {3, 2}};
	const struct forwarder_publish good = p;
	unsigned most = sizeof(p.reader) / sizeof(p.reader[0]);

	(void)state;
	assert_true(forwarder_publish_inside(&p, region, sizeof(region)));
	p.qsbr = (uintptr_t)(end - qsbr_bytes(4)); /* of readers 0 to 3 */
	assert_true(forwarder_publish_inside(&p, region, sizeof(region)));
	p.reader[1] = 4;
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p = good;
	p.path_lists = (uintptr_t)(end - path_lists_bytes() / 8 * 8);
	assert_true(forwarder_publish_inside(&p, region, sizeof(region)));
	p.path_lists += 8;
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p = good;
	p.fib = (uintptr_t)(end - 8);
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p.fib = (uintptr_t)region - 8;
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p.fib = (uintptr_t)(region + 4);
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p = good;
	p.reader[0] = QSBR_READERS_MAX;
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
	p = good;
	p.worker_count = most + 1;
	assert_false(forwarder_publish_inside(&p, region, sizeof(region)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_publish)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
