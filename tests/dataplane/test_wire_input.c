/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kept corpus of the fuzzer fuzz_wire.c, its truncations, and mutations of it, through the loop of
 * a worker (wire_rig.h). Each buffer is freed once; packets reach each end.
 *
 * KEEL_SEED (1), KEEL_RUNS (mutations of a file, 5,000; with sanitizers 1,000): for long runs.
 */
#include "tests/fuzz/mutate.h"
#include "tests/lpm/size.h"
#include "wire_rig.h"

#include <dirent.h>

#define INPUT_MAX 2048
#ifdef KEEL_SANITIZED
#define RUNS 1000
#else
#define RUNS 5000
#endif

static void
run_exact(const uint8_t *data, size_t len)
{
	uint8_t *exact = malloc(len + 1);

	assert_non_null(exact);
	memcpy(exact + 1, data, len);
	run_input(exact + 1, len);
	free(exact);
}

static void
replay(const uint8_t *data, size_t size, uint64_t *seed, uint64_t runs)
{
	for (size_t len = 0; len <= size; len++)
		run_exact(data, len);
	for (uint64_t i = 0; i < runs; i++) {
		uint8_t input[INPUT_MAX];
		size_t len = size;

		memcpy(input, data, size);
		for (unsigned n = 1 + lab_below(seed, 6); n > 0; n--)
			len = mutate(input, len, sizeof(input), seed);
		run_exact(input, len);
	}
}

static void
test_corpus(void **state)
{
	static const char folder[] = KEEL_SOURCE_ROOT "/tests/fuzz/corpus/wire";
	uint64_t seed = test_setting("KEEL_SEED", 1), runs = test_setting("KEEL_RUNS", RUNS);
	const struct worker_stats *s;
	unsigned files = 0;
	struct dirent *e;
	DIR *d = opendir(folder);

	(void)state;
	assert_non_null(d);
	rig_begin();
	s = &worker->stats;
	while ((e = readdir(d)) != NULL) {
		uint8_t data[INPUT_MAX];
		char path[4096];
		size_t len;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		f = fopen(path, "rb");
		assert_non_null(f);
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		replay(data, len, &seed, runs);
		files++;
	}
	closedir(d);
	print_message(
		"%u files; %u sent, %u of IPv4, %lu of the kernel, %lu fragments, %lu ICMP errors, "
		"%u to the host\n",
		files, sent_all, sent_v4, (unsigned long)s->originated, (unsigned long)s->fragments,
		(unsigned long)s->icmp_errors, host_packets);
	assert_true(files > 0 && sent_v4 > 0 && sent_all > sent_v4 && host_packets > 0);
	assert_true(s->fragments > 0 && s->icmp_errors > 0 && s->originated > 0);
	for (unsigned i = 0; i < DROP_icmp_limited; i++)
		if (i != DROP_host_full && i != DROP_host_policed && i != DROP_neighbor_queue &&
			s->drops[i] == 0)
			fail_msg(
				"nothing is dropped for %s", drop_reason_text((enum drop_reason)i));
	rig_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};

	role_enter_main();
	role_enter_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
