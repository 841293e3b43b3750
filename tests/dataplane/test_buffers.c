/* SPDX-License-Identifier: BSD-3-Clause */
/* The ports of the start share the packet memory by what they need: queues and rings, sizes of buffers, devices with DMA beside others. */
#include "lab.h"

#include "dataplane/port/dataplane_struct.h"

#include <rte_mempool.h>

#define EAL_MB 128 /* a quarter of memory_mb */

static char directory[] = "/tmp/keel-test-buffers-XXXXXX";
static unsigned cpu;

static void
begin(const struct port_config *port, unsigned count)
{
	struct dataplane_error err = {""};
	char name[32];
	bool huge;

	snprintf(name, sizeof(name), "keel-test-%d", (int)getpid());
	if (dataplane_init(&(struct dataplane_config){.worker_cpus = &cpu,
				   .worker_count = 1,
				   .control_cpus = &cpu,
				   .control_count = 1,
				   .memory_mb = 4 * EAL_MB,
				   .run_dir = directory,
				   .name = name,
				   .port = port,
				   .port_count = count},
		    &huge, &err) != 0)
		fail_msg("%s", err.text);
}

/* Octets of the pools that exist or could be created now, in MB. */
static unsigned
megabytes(unsigned pool, unsigned room)
{
	return (unsigned)(((size_t)port_pool_size(pool) * room) >> 20);
}

/* EAL starts once in a process, so there is one test. */
static void
test_shares(void **state)
{
	/* no device of these exists: only the plan is read */
	const struct port_config port[] = {
		{.name = "one", .device = "net_null0", .queues = 2},
		{.name = "two", .device = "0000:7f:00.0", .queues = 1},
		{.name = "three", .device = "7f:00.1", .queues = 1, .mtu = 9000},
	};
	unsigned soft, hard, large, ready;
	struct dataplane_error err;
	uint16_t null;

	(void)state;
	begin(port, 3);
	soft = port_pool_size(POOL_SOFT);
	hard = port_pool_size(POOL_HARD);
	large = port_pool_size(POOL_HARD + 1);
	assert_in_range(soft, 2 * hard - 2, 2 * hard + 2);
	assert_in_range(large, hard - 2, hard + 2);
	assert_in_range(hard, 4096, 16384);
	assert_in_range(megabytes(POOL_SOFT, 2432) + megabytes(POOL_HARD, 2432) +
				megabytes(POOL_HARD + 1, 9408),
		EAL_MB - 40, EAL_MB - 16);
	/* a kind that no port of the start needs leaves the planned pools their memory */
	ready = port_pool_size(POOL_SOFT_LARGE);
	assert_in_range(ready, 1, large * 4);
	assert_int_equal(
		port_add(&(struct port_config){.name = "null", .device = "net_null1"}, &null, &err),
		0);
	assert_int_equal(dp->pool[POOL_SOFT]->size, soft);
	assert_int_equal(port_pool_size(POOL_HARD), hard);
	assert_null(dp->pool[POOL_SOFT_LARGE]);
	dataplane_fini();
	assert_int_equal(rmdir(directory), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares)};
	cpu_set_t cpus;

	role_enter_main();
	if (mkdtemp(directory) == NULL || sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
		return 1;
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
