/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/record_file.h"

#include "control/base/threads.h"
#include "tests/lpm/rng.h"
#include "tests/lpm/tick.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_S 300 /* only a failing test takes this long */
#define HOUR 3600u

struct lab {
	char folder[64];
	struct thread *owner;
	struct record_file *file;
	bool closed;
};

static int
lab_start(void **state)
{
	struct lab *l = calloc(1, sizeof(*l));

	snprintf(l->folder, sizeof(l->folder), "/tmp/keel-record-XXXXXX");
	assert_non_null(mkdtemp(l->folder));
	assert_int_equal(thread_adopt(&(struct thread_config){.name = "owner"}, &l->owner), 0);
	*state = l;
	return 0;
}

static int
lab_end(void **state)
{
	struct lab *l = *state;

	thread_free(l->owner);
	assert_int_equal(rmdir(l->folder), 0);
	free(l);
	return 0;
}

static const char *
in(const struct lab *l, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", l->folder, name);
	return path;
}

static void
begin(struct lab *l, const char *name, uint32_t interval_s)
{
	assert_int_equal(record_file_create(in(l, name), interval_s, l->owner, &l->file), 0);
}

static void
closed(void *ctx, struct record_file *r)
{
	struct lab *l = ctx;

	assert_ptr_equal(r, l->file);
	l->closed = true;
}

/* Ends the file as a commit does, and waits for the end. */
static void
finish(struct lab *l)
{
	uint64_t deadline = tick_deadline(PATIENCE_S);

	l->closed = false;
	record_file_end(l->file, closed, l);
	for (thread_drain(l->owner); !l->closed; thread_drain(l->owner))
		assert_true(tick(deadline));
}

static void
put(struct lab *l, uint32_t time_s, uint32_t number, size_t len)
{
	static uint8_t body[70000];
	uint32_t head[3] = {number, (uint32_t)len, time_s};

	memset(body, (int)(number & 0xff), len);
	record_file_put(l->file, time_s, head, sizeof(head), body, len);
}

/* Waits until so many records are written or lost. */
static void
wait_for(const struct lab *l, uint64_t records, struct record_file_figures *f)
{
	uint64_t deadline = tick_deadline(PATIENCE_S);

	record_file_figures(l->file, f);
	while (f->records + f->lost < records) {
		assert_true(tick(deadline));
		record_file_figures(l->file, f);
	}
}

/* Reads and removes a file. Checks that the numbers rise from *next on. Returns the number of records. */
static unsigned
take(const struct lab *l, const char *name, uint32_t *next, uint32_t begin_s, uint32_t interval_s)
{
	FILE *f = fopen(in(l, name), "rb");
	unsigned count = 0;
	uint32_t head[3];
	static uint8_t body[70000];

	assert_non_null(f);
	while (fread(head, sizeof(head), 1, f) == 1) {
		assert_true(head[0] >= *next);
		assert_true(head[2] >= begin_s && head[2] - begin_s < interval_s);
		assert_true(head[1] <= sizeof(body));
		assert_int_equal(fread(body, 1, head[1], f), head[1]);
		for (uint32_t i = 0; i < head[1]; i++)
			assert_int_equal(body[i], head[0] & 0xff);
		*next = head[0] + 1;
		count++;
	}
	assert_true(feof(f));
	fclose(f);
	assert_int_equal(unlink(in(l, name)), 0);
	return count;
}

/* Each record is in the file of its time, in order, and a file that exists is continued. */
static void
test_rotation(void **state)
{
	struct lab *l = *state;
	uint32_t now = (uint32_t)record_file_begin((uint64_t)time(NULL), HOUR), next = 0,
		 number = 0;
	char name[64], present[64];
	uint64_t rng = 0x726f746174696f6eu;

	for (unsigned run = 0; run < 2; run++) {
		begin(l, "%s", HOUR);
		for (uint32_t i = 0; i < 3 * HOUR; i += 9)
			put(l, now - 3 * HOUR + i, number++, splitmix64(&rng) % 2000);
		finish(l);
	}
	/* the second run has gone back to the first file */
	for (unsigned i = 0; i < 3; i++) {
		uint32_t begin_s = now - (3 - i) * HOUR;

		snprintf(name, sizeof(name), "%u", begin_s);
		next = i * HOUR / 9;
		assert_int_equal(take(l, name, &next, begin_s, HOUR), 2 * HOUR / 9);
	}
	/* the file of the present hour was opened, too; the hour may have passed meanwhile */
	for (unsigned i = 0; i < 2; i++) {
		snprintf(present, sizeof(present), "%u", now + i * HOUR);
		(void)unlink(in(l, present));
	}
}

/* More records than the ring holds: the file has whole records in order, and the rest is counted. */
static void
test_a_flood(void **state)
{
	struct lab *l = *state;
	uint32_t now = (uint32_t)time(NULL), next = 0;
	struct record_file_figures f;
	unsigned count = 4000;
	uint64_t rng = 0x666c6f6f64u;

	begin(l, "flood", 604800);
	for (unsigned i = 0; i < count; i++)
		put(l, now, i, splitmix64(&rng) % 65000);
	/* too long for a record */
	record_file_put(l->file, now, l->folder, 1, l->folder, 1u << 20);
	wait_for(l, count + 1, &f);
	assert_int_equal(f.records + f.lost, count + 1);
	assert_int_equal(f.error, 0);
	assert_true(f.lost >= 1);
	finish(l);
	assert_int_equal(take(l, "flood", &next, now - now % 604800, 604800), f.records);
}

/* A folder that comes late: what was lost before is counted, and the file begins with the next record. */
static void
test_a_missing_folder(void **state)
{
	struct lab *l = *state;
	uint32_t now = (uint32_t)time(NULL), next = 3;
	struct record_file_figures f;

	begin(l, "sub/file", 604800);
	for (unsigned i = 0; i < 3; i++)
		put(l, now, i, 100);
	wait_for(l, 3, &f);
	assert_int_equal(f.lost, 3);
	assert_int_equal(f.error, ENOENT);
	assert_int_equal(mkdir(in(l, "sub"), 0700), 0);
	put(l, now, 3, 100);
	wait_for(l, 4, &f);
	assert_int_equal(f.records, 1);
	assert_int_equal(f.error, 0);
	assert_int_equal(f.lost, 3);
	finish(l);
	assert_int_equal(take(l, "sub/file", &next, now - now % 604800, 604800), 1);
	assert_int_equal(rmdir(in(l, "sub")), 0);
}

/* keeld stops: all records are written, also when the file was being closed. */
static void
test_destroy(void **state)
{
	struct lab *l = *state;
	uint32_t now = (uint32_t)time(NULL);

	for (unsigned ending = 0; ending < 2; ending++) {
		uint32_t next = 0;

		begin(l, "last", 604800);
		for (unsigned i = 0; i < 1000; i++)
			put(l, now, i, 100);
		if (ending)
			record_file_end(l->file, closed, l);
		record_file_destroy(l->file, PATIENCE_S * UINT64_C(1000000000));
		assert_int_equal(take(l, "last", &next, now - now % 604800, 604800), 1000);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rotation, lab_start, lab_end),
		cmocka_unit_test_setup_teardown(test_a_flood, lab_start, lab_end),
		cmocka_unit_test_setup_teardown(test_a_missing_folder, lab_start, lab_end),
		cmocka_unit_test_setup_teardown(test_destroy, lab_start, lab_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
