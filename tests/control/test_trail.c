/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit trail on disk: pages, rotation, restarts, interrupted writes, a folder that is gone. */
#include "control/apply/trail.h"
#include "control/base/disk.h"
#include "control/base/threads.h"
#include "tests/control/config_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/keel-trail-XXXXXX";

static struct disk *disk; /* without a thread: a line is written in the call */

static struct trail *
opened(void)
{
	struct trail *t;

	assert_int_equal(trail_open(folder, disk, &t), 0);
	return t;
}

static void
add(struct trail *t, unsigned number, unsigned padding)
{
	char *text = calloc(1, padding + 1);

	memset(text, 'x', padding);
	trail_add(t, json_pack("{s:i, s:s}", "number", (int)number, "padding", text));
	free(text);
}

static void
forget(void)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf %s/audit.log*", folder);
	assert_int_equal(system(command), 0);
}

/* Walks all pages: the numbers fall by one from `newest`. Returns the count of lines. */
static unsigned
walk(const struct trail *t, unsigned limit, int newest)
{
	uint64_t next = 0;
	unsigned count = 0;

	do {
		json_t *page = trail_list(t, limit, next, &next), *line;
		size_t i;

		assert_true(json_array_size(page) > 0 || next == 0);
		json_array_foreach(page, i, line)
		{
			assert_int_equal(json_integer_value(json_object_get(line, "number")),
				newest - (int)count);
			assert_true(json_is_real(json_object_get(line, "time")));
			count++;
		}
		json_decref(page);
	} while (next != 0);
	return count;
}

static void
test_pages_and_restarts(void **state)
{
	struct trail *t = opened();

	(void)state;
	assert_int_equal(walk(t, 10, 0), 0);
	for (unsigned i = 1; i <= 25; i++)
		add(t, i, 10);
	assert_int_equal(walk(t, 10, 25), 25);
	assert_int_equal(walk(t, 25, 25), 25);
	assert_int_equal(walk(t, 1, 25), 25);
	trail_close(t);
	t = opened();
	add(t, 26, 10);
	assert_int_equal(walk(t, 7, 26), 26);
	trail_close(t);
	forget();
}

/* The oldest lines go, the ids continue, and the folder stays below its bound. */
static void
test_rotation(void **state)
{
	const unsigned each = 4000, count = TRAIL_FILES * (TRAIL_FILE_MAX / each) + 500;
	struct trail *t = opened();
	unsigned kept;
	off_t octets = 0;

	(void)state;
	for (unsigned i = 1; i <= count; i++)
		add(t, i, each);
	json_t *most = trail_list(t, 1000, 0, &(uint64_t){0});
	assert_in_range(json_array_size(most) * each, TRAIL_LIST_MAX / 2, TRAIL_LIST_MAX + each);
	json_decref(most);
	kept = walk(t, 1000, (int)count);
	assert_in_range(kept, (TRAIL_FILES - 1) * (TRAIL_FILE_MAX / (each + 100)), count - 400);
	for (unsigned file = 0; file < TRAIL_FILES + 1; file++) {
		struct stat st;
		char path[64];

		snprintf(path, sizeof(path), file == 0 ? "%s/audit.log" : "%s/audit.log.%u", folder,
			file);
		if (file == TRAIL_FILES)
			assert_int_not_equal(stat(path, &st), 0);
		else
			assert_int_equal(stat(path, &st), 0);
		if (file < TRAIL_FILES)
			octets += st.st_size;
		if (file < TRAIL_FILES)
			assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_true(octets <= (off_t)TRAIL_FILES * TRAIL_FILE_MAX);
	trail_close(t);
	/* a new file without a line yet: the ids continue after the renamed file */
	char path[64];
	snprintf(path, sizeof(path), "%s/audit.log", folder);
	assert_int_equal(truncate(path, 0), 0);
	t = opened();
	add(t, 1, 1);
	json_t *page = trail_list(t, 2, 0, &(uint64_t){0});
	assert_true(json_integer_value(json_object_get(json_array_get(page, 0), "id")) >
		    json_integer_value(json_object_get(json_array_get(page, 1), "id")));
	json_decref(page);
	trail_close(t);
	forget();
}

/* A power loss in the middle of a line loses this line only. */
static void
test_interrupted_write(void **state)
{
	struct trail *t = opened();
	char path[64];
	FILE *f;

	(void)state;
	add(t, 1, 10);
	trail_close(t);
	snprintf(path, sizeof(path), "%s/audit.log", folder);
	f = fopen(path, "a");
	fputs("{\"id\":2,\"time\":17", f);
	fclose(f);
	t = opened();
	add(t, 2, 10);
	add(t, 3, 10);
	assert_int_equal(walk(t, 10, 3), 3);
	trail_close(t);
	forget();
}

/* Lines that cannot be written are dropped; later lines are written. */
static void
test_faults(void **state)
{
	struct trail *t = opened();
	char other[64], victim[64];
	struct stat st;

	(void)state;
	add(t, 1, TRAIL_LINE_MAX);
	assert_int_equal(walk(t, 10, 0), 0);
	add(t, 1, 10);
	assert_int_equal(walk(t, 10, 1), 1);
	trail_close(t);
	forget();
	snprintf(other, sizeof(other), "%s/audit.log", folder);
	assert_int_equal(mkdir(other, 0700), 0);
	t = opened();
	add(t, 1, 10);
	assert_int_equal(walk(t, 10, 0), 0);
	assert_int_equal(rmdir(other), 0);
	add(t, 1, 10);
	assert_int_equal(walk(t, 10, 1), 1);
	trail_close(t);
	forget();
	/* a link in the place of the trail leads to no other file */
	snprintf(victim, sizeof(victim), "%s/victim", folder);
	close(open(victim, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlink("victim", other), 0);
	t = opened();
	add(t, 1, 10);
	trail_close(t);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(unlink(victim), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_and_restarts),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_interrupted_write),
		cmocka_unit_test(test_faults),
	};
	int failed;

	role_enter_main();
	if (mkdtemp(folder) == NULL || disk_create(&disk) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	forget();
	rmdir(folder);
	disk_destroy(disk);
	return failed;
}
