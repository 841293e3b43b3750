/* SPDX-License-Identifier: BSD-3-Clause */
/* The labels of VPN instances, with a clock of the test and faults of the file. */
#include "control/apply/labels.h"
#include "control/base/disk.h"
#include "tests/control/config_test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static struct disk *disk; /* without a thread: a file is written in the call */

static int
make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/keel-labels-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int
remove_folder(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static bool
there_is(const char *name)
{
	return access(path_of(name), F_OK) == 0;
}

static void
write_text(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct labels *
opened(uint64_t now_ns)
{
	struct labels *l = NULL;

	assert_int_equal(labels_open(&LABELS_CONFIG(folder, disk), now_ns, &l), 0);
	return l;
}

static int
take(struct labels *l, const char *name, uint64_t now_ns, uint32_t *label)
{
	return labels_take(l, &name, 1, now_ns, label);
}

static uint32_t
taken(struct labels *l, const char *name, uint64_t now_ns)
{
	uint32_t label = 0;

	assert_int_equal(take(l, name, now_ns, &label), 0);
	return label;
}

static void
assert_alarm(const struct labels *l, const char *part)
{
	char text[LABELS_ALARM_MAX] = "";
	bool on = labels_alarm(l, text);

	if (on != (part != NULL) || (part != NULL && strstr(text, part) == NULL))
		fail_msg("alarm \"%s\", not \"%s\"", text, part != NULL ? part : "none");
}

/* Lowest first, the same after a restart and after the end of the process. */
static void
test_stable(void **state)
{
	struct labels *l = opened(0);

	(void)state;
	assert_int_equal(taken(l, "red", 0), 16);
	assert_int_equal(taken(l, "blue", 0), 17);
	assert_int_equal(taken(l, "red", 0), 16);
	/* no labels_close(): as after kill -9 */
	struct labels *again = opened(0);

	assert_int_equal(taken(again, "green", 0), 18);
	assert_int_equal(taken(again, "blue", 0), 17);
	assert_int_equal(taken(again, "red", 0), 16);
	assert_alarm(again, NULL);
	labels_close(again);
	labels_close(l);
}

/* The file has the label before the caller gets it. */
static void
test_written_first(void **state)
{
	struct labels *l = opened(0);
	json_t *document;

	(void)state;
	assert_int_equal(taken(l, "red", 0), 16);
	document = json_load_file(path_of("labels.json"), 0, NULL);
	assert_non_null(document);
	json_t *first = json_array_get(json_object_get(document, "labels"), 0);

	assert_int_equal(json_integer_value(json_object_get(first, "label")), 16);
	assert_string_equal(json_string_value(json_object_get(first, "name")), "red");
	json_decref(document);
	labels_close(l);
}

static void
test_rest(void **state)
{
	const uint64_t s = 1000000000, rest = LABELS_REST_NS;
	struct labels *l = opened(0);

	(void)state;
	assert_int_equal(taken(l, "red", 0), 16);
	assert_int_equal(taken(l, "blue", 0), 17);
	labels_release(l, "red", 10 * s);
	assert_int_equal(taken(l, "green", 9 * s + rest), 18);
	assert_int_equal(taken(l, "white", 11 * s + rest), 16);
	/* the same name gets its label back while the label rests */
	labels_release(l, "blue", 20 * s + rest);
	assert_int_equal(taken(l, "blue", 21 * s + rest), 17);
	labels_release(l, "blue", 30 * s + rest);
	labels_store(l);
	labels_close(l);
	/* a restart begins the rest anew */
	l = opened(100 * s);
	assert_int_equal(taken(l, "green", 100 * s), 18);
	labels_release_unused(l, 100 * s);
	assert_int_equal(taken(l, "x", 99 * s + rest), 19);
	/* 16: white did not ask after the restart */
	assert_int_equal(taken(l, "y", 101 * s + rest), 16);
	assert_int_equal(taken(l, "z", 101 * s + rest), 17);
	labels_close(l);
}

/* Labels of a file that is short, no JSON, or has impossible entries are not given to others. */
static void
test_broken(void **state)
{
	static const char twice[] =
		"{\"labels\": [{\"label\": 16, \"name\": \"red\", \"rests\": false}, "
		"{\"label\": 16, \"name\": \"blue\", \"rests\": false}]}";
	static const char *const texts[] = {"", "{\"labels\": [{\"label\": 16, \"name\": \"red\"",
		"\1\2\3", "[]", "{\"labels\": 1}", "{\"labels\": [{\"label\": 16}]}",
		"{\"labels\": [{\"label\": 3, \"name\": \"red\", \"rests\": false}]}", twice};
	const unsigned count = sizeof(texts) / sizeof(texts[0]);
	char name[32];

	(void)state;
	for (unsigned i = 0; i < count - 1; i++) {
		write_text("labels.json", texts[i]);
		struct labels *l = opened(0);

		snprintf(name, sizeof(name), "labels.broken-%u", i + 1);
		assert_true(there_is(name));
		assert_alarm(l, name);
		assert_int_equal(taken(l, "red", 0), 32768 * (i + 1));
		assert_alarm(l, name);
		labels_close(l);
		l = opened(0);
		assert_int_equal(taken(l, "red", 0), 32768 * (i + 1));
		assert_int_equal(taken(l, "blue", 0), 32768 * (i + 1) + 1);
		labels_close(l);
	}
	/* no range is left */
	write_text("labels.json", texts[count - 1]);
	struct labels *l = opened(0);
	uint32_t label;

	assert_int_equal(take(l, "red", 0, &label), -ENOSPC);
	assert_alarm(l, "no MPLS label is free");
	labels_close(l);
	/* the operator deletes the kept files */
	for (unsigned i = 1; i <= count; i++) {
		snprintf(name, sizeof(name), "labels.broken-%u", i);
		assert_int_equal(unlink(path_of(name)), 0);
	}
	l = opened(0);
	assert_alarm(l, NULL);
	assert_int_equal(taken(l, "red", 0), 16);
	labels_close(l);
}

/* Without a way to write there is no label, an alarm, and a label later. */
static void
test_unwritable(void **state)
{
	struct labels *l = opened(0);
	uid_t user = geteuid();
	uint32_t label = 1;

	(void)state;
	assert_int_equal(chmod(folder, 0555), 0);
	assert_int_equal(seteuid(user == 0 ? 65534 : user), 0);
	assert_int_equal(take(l, "red", 0, &label), -EACCES);
	assert_int_equal(label, 0);
	assert_alarm(l, "cannot be written (Permission denied)");
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(taken(l, "red", 0), 16);
	assert_alarm(l, NULL);
	labels_close(l);
}

/* A broken file that cannot be moved: no label at all. */
static void
test_unmovable(void **state)
{
	uid_t user = geteuid();
	struct labels *l;
	uint32_t label;

	(void)state;
	write_text("labels.json", "x");
	assert_int_equal(chmod(path_of("labels.json"), 0644), 0);
	assert_int_equal(chmod(folder, 0555), 0);
	assert_int_equal(seteuid(user == 0 ? 65534 : user), 0);
	l = opened(0);
	assert_int_equal(take(l, "red", 0, &label), -EIO);
	assert_alarm(l, "is broken and cannot be moved");
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod(folder, 0755), 0);
	labels_close(l);
}

/* A commit with many instances writes once; without a way to write no new instance gets a label. */
static void
test_many(void **state)
{
	const char *const names[] = {"a", "b", "c", "d"};
	uid_t user = geteuid();
	struct labels *l = opened(0);
	uint32_t label[4];

	(void)state;
	assert_int_equal(taken(l, "b", 0), 16);
	assert_int_equal(taken(l, "d", 0), 17);
	labels_release(l, "d", 0);
	assert_int_equal(chmod(folder, 0555), 0);
	assert_int_equal(seteuid(user == 0 ? 65534 : user), 0);
	assert_int_equal(labels_take(l, names, 4, 0, label), -EACCES);
	assert_int_equal(label[0] + label[2] + label[3], 0);
	assert_int_equal(label[1], 16);
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod(folder, 0755), 0);
	/* d rests still */
	assert_int_equal(taken(l, "e", 1), 18);
	assert_int_equal(labels_take(l, names, 4, 1, label), 0);
	assert_int_equal(label[0], 19);
	assert_int_equal(label[1], 16);
	assert_int_equal(label[2], 20);
	assert_int_equal(label[3], 17);
	labels_close(l);
}

static void
test_used_up(void **state)
{
	const struct labels_config small = {folder, disk, 16, 31, 1};
	struct labels *l = NULL;
	uint32_t label;
	char name[8];

	(void)state;
	assert_int_equal(labels_open(&small, 0, &l), 0);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(taken(l, name, 0), 16 + i);
	}
	assert_int_equal(take(l, "red", 0, &label), -ENOSPC);
	assert_alarm(l, "no MPLS label is free for an instance; 16 are in use or rest");
	labels_release(l, "n7", 0);
	assert_int_equal(take(l, "red", 1, &label), -ENOSPC);
	assert_int_equal(taken(l, "red", LABELS_REST_NS), 23);
	assert_alarm(l, NULL);
	labels_close(l);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		TEST(test_stable),
		TEST(test_written_first),
		TEST(test_rest),
		TEST(test_broken),
		TEST(test_unwritable),
		TEST(test_unmovable),
		TEST(test_many),
		TEST(test_used_up),
	};

	role_enter_main();
	return disk_create(&disk) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
