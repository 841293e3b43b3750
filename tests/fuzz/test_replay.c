/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kept corpus in every build: each file unchanged, every truncation (every tenth of text), and
 * a fixed number of seeded mutations. An input found by libFuzzer is added to the corpus. Fails by
 * a sanitizer report or a check of harness.h.
 */
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"
#include "tests/lpm/size.h"

#include <dirent.h>
#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

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
replay(const struct target *t, const uint8_t *data, size_t len, uint64_t seed, unsigned mutations)
{
	uint8_t buf[INPUT_MAX];
	uint64_t s = seed;

	for (size_t n = 0; n <= len; n += t->text ? 10 : 1)
		run(t, data, n);
	run(t, data, len);
	for (unsigned i = 0; i < mutations; i++) {
		size_t n = len;

		memcpy(buf, data, len);
		for (unsigned changes = 1 + (unsigned)(splitmix64(&s) % 4); changes > 0; changes--)
			n = mutate(buf, n, sizeof(buf), &s);
		run(t, buf, n);
	}
}

static size_t
read_file(const char *path, uint8_t *data, size_t size)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	assert_non_null(f);
	len = fread(data, 1, size, f);
	fclose(f);
	return len;
}

static int
is_input(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static unsigned
replay_target(const struct target *t)
{
	static uint8_t data[INPUT_MAX];
	char path[4096], file[sizeof(path) + 300];
	struct dirent **e;
	int files;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", KEEL_SOURCE_ROOT, t->name);
	files = scandir(path, &e, is_input, alphasort);
	assert_true(files > 0);
	for (int i = 0; i < files; i++) {
		uint64_t seed = 0;
		size_t len;

		for (const char *c = e[i]->d_name; *c; c++)
			seed = seed * 131 + (uint8_t)*c;
		snprintf(file, sizeof(file), "%s/%s", path, e[i]->d_name);
		len = read_file(file, data, sizeof(data));
		replay(t, data, len, seed,
			test_size(t->mutations / 4, t->mutations) / (unsigned)files + 1);
		free(e[i]);
	}
	free(e);
	return (unsigned)files;
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
