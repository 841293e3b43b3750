/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads of EAL run on control_cpus: on other CPUs a worker of another process may poll. */
#include "lab.h"

#include <dirent.h>

static char directory[] = "/tmp/keel-test-cpus-XXXXXX";

/* The CPUs of all threads of the process, also of the worker's, without a function to run. */
static cpu_set_t
cpus_of_threads(unsigned *count)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	cpu_set_t all;

	assert_non_null(d);
	CPU_ZERO(&all);
	*count = 0;
	while ((e = readdir(d)) != NULL) {
		cpu_set_t one;

		if (e->d_name[0] == '.')
			continue;
		assert_int_equal(sched_getaffinity(atoi(e->d_name), sizeof(one), &one), 0);
		CPU_OR(&all, &all, &one);
		++*count;
	}
	closedir(d);
	return all;
}

static void
test_threads_of_eal(void **state)
{
	unsigned cpu = 0, count;
	struct dataplane_error err = {""};
	cpu_set_t cpus, expected;
	char name[32];
	bool huge;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	snprintf(name, sizeof(name), "keel-test-%d", (int)getpid());
	if (dataplane_init(&(struct dataplane_config){.worker_cpus = &cpu,
				   .worker_count = 1,
				   .control_cpus = &cpu,
				   .control_count = 1,
				   .memory_mb = 64,
				   .run_dir = directory,
				   .name = name},
		    &huge, &err) != 0)
		fail_msg("%s", err.text);
	CPU_ZERO(&expected);
	CPU_SET(cpu, &expected);
	cpus = cpus_of_threads(&count);
	assert_true(count > 2); /* the main thread, the worker, and threads of EAL */
	assert_true(CPU_EQUAL(&cpus, &expected));
	dataplane_fini();
	assert_int_equal(rmdir(directory), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_of_eal)};

	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
