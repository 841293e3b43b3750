/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kept corpus in every build: each file as it is, every truncation, and a fixed number of mutations by a seeded generator.
 * What libFuzzer found once goes into the corpus and stays found. Only a sanitizer or a check of harness.h can fail it.
 */
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

#include <dirent.h>
#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define MUTATIONS 20000 /* of each file: about a second in a sanitizer build */
#define INPUT_MAX 8192

/* On a heap block of exactly this size. */
static void
run(const struct target *t, const uint8_t *data, size_t len)
{
	uint8_t *p = harness_copy(data, len);

	t->run(p, len);
	free(p);
}

static void
replay(const struct target *t, const uint8_t *data, size_t len, uint64_t seed)
{
	uint8_t buf[INPUT_MAX];
	uint64_t s = seed;

	for (size_t n = 0; n <= len; n++)
		run(t, data, n);
	for (unsigned i = 0; i < MUTATIONS; i++) {
		size_t n = len;

		memcpy(buf, data, len);
		for (unsigned changes = 1 + (unsigned)(splitmix64(&s) % 4); changes > 0; changes--)
			n = mutate(buf, n, sizeof(buf), &s);
		run(t, buf, n);
	}
}

static unsigned
replay_target(const struct target *t)
{
	static uint8_t data[INPUT_MAX];
	char path[4096];
	struct dirent *e;
	unsigned files = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", KEEL_SOURCE_ROOT, t->name);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		char file[sizeof(path) + 300];
		uint64_t seed = 0;
		size_t len;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		/* By its name: the order of a folder is the file system's. */
		for (const char *c = e->d_name; *c; c++)
			seed = seed * 131 + (uint8_t)*c;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		f = fopen(file, "rb");
		assert_non_null(f);
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		replay(t, data, len, seed);
		files++;
	}
	closedir(d);
	return files;
}

static void
test_corpus(void **state)
{
	for (size_t i = 0; i < TARGET_COUNT; i++) {
		unsigned files = replay_target(&targets[i]);

		print_message("%s: %u files\n", targets[i].name, files);
		assert_true(files > 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
