/* SPDX-License-Identifier: BSD-3-Clause */
/* The folder of commits alone; keeld's use of the folder is tested in test_history.py. */
#include "control/config/config.h"
#include "control/apply/history.h"
#include "tests/control/config_test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int
make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/keel-history-XXXXXX");
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

static struct history *
opened(void)
{
	struct history *h = NULL;
	char path[96];

	snprintf(path, sizeof(path), "%s/commits", folder);
	assert_int_equal(history_open(path, &h), 0);
	return h;
}

static json_t *
document(unsigned n)
{
	return json_pack("{s:i}", "n", (int)n);
}

static void
prepare(struct history *h, unsigned n, int64_t back_to)
{
	json_t *d = document(n);

	assert_int_equal(history_prepare(h, d, back_to), 0);
	json_decref(d);
}

static void
commit(struct history *h, unsigned n)
{
	prepare(h, n, -1);
	assert_int_equal(history_add(h, "words", "alice", false), 0);
}

static bool
waits(const struct history *h, unsigned n, uint32_t *back_to)
{
	json_t *d = document(n);
	bool w = history_waits(h, d, back_to);

	json_decref(d);
	return w;
}

static int
kept(const struct history *h, uint32_t id)
{
	json_t *d = history_document(h, id);
	int n = d ? (int)json_integer_value(json_object_get(d, "n")) : -1;

	json_decref(d);
	return n;
}

static void
test_ids_go_on(void **state)
{
	struct history *h = opened();
	uint32_t last;

	(void)state;
	assert_false(history_last(h, &last));
	assert_int_equal(history_next(h), 0);
	for (unsigned n = 0; n < 3; n++)
		commit(h, 10 + n);
	history_close(h);
	h = opened();
	assert_true(history_last(h, &last));
	assert_int_equal(last, 2);
	assert_int_equal(history_next(h), 3);
	assert_int_equal(kept(h, 1), 11);
	assert_int_equal(kept(h, 3), -1);
	/* A prepared commit, then keeld ends: the commit is void. */
	prepare(h, 99, -1);
	history_close(h);
	h = opened();
	assert_int_equal(history_next(h), 3);
	assert_int_equal(kept(h, 3), -1);
	commit(h, 13);
	assert_int_equal(kept(h, 3), 13);
	history_close(h);
}

static void
test_waiting(void **state)
{
	struct history *h = opened();
	uint32_t back_to;

	(void)state;
	commit(h, 0);
	assert_false(waits(h, 0, &back_to));
	/*
	 * The daemon ended before the new commit replaced FILE: commit 0 in FILE does not wait for
	 * confirmation, commit 1 would.
	 */
	prepare(h, 1, 0);
	history_close(h);
	h = opened();
	assert_false(waits(h, 0, &back_to));
	assert_true(waits(h, 1, &back_to));
	assert_int_equal(back_to, 0);
	assert_int_equal(history_add(h, "words", "alice", true), 0);
	/*
	 * A second unconfirmed commit on top, with FILE still the first or already the second: both
	 * roll back to the state before the first.
	 */
	prepare(h, 2, 1);
	history_close(h);
	h = opened();
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(waits(h, n, &back_to));
		assert_int_equal(back_to, 0);
	}
	assert_int_equal(history_add(h, "words", "alice", true), 0);
	assert_int_equal(history_confirmed(h), 0);
	history_close(h);
	h = opened();
	assert_false(waits(h, 2, &back_to));
	/* A commit without confirmation ends the wait. */
	prepare(h, 3, 2);
	assert_int_equal(history_add(h, "words", "alice", true), 0);
	commit(h, 4);
	assert_false(waits(h, 3, &back_to));
	history_close(h);
}

static void
test_where_to_go_back_is_kept(void **state)
{
	struct history *h = opened();
	uint32_t back_to;

	(void)state;
	commit(h, 0);
	for (unsigned n = 1; n < HISTORY_MAX + 20; n++) {
		prepare(h, n, 0);
		assert_int_equal(history_add(h, "words", "alice", true), 0);
	}
	json_t *list = history_list(h);
	assert_int_equal(json_array_size(list), HISTORY_MAX);
	json_decref(list);
	assert_int_equal(kept(h, 0), 0);
	assert_int_equal(kept(h, HISTORY_MAX + 19), HISTORY_MAX + 19);
	history_close(h);
	h = opened();
	assert_true(waits(h, HISTORY_MAX + 19, &back_to));
	assert_int_equal(kept(h, back_to), 0);
	history_close(h);
}

static void
put(const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/commits/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool
there(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/commits/%s", folder, name);
	return access(path, F_OK) == 0;
}

static void
test_damage(void **state)
{
	static const char *const indexes[] = {"", "[", "[]", "{}", "{\"commits\": 1, \"next\": -1}",
		"{\"commits\": [1, {}, {\"id\": -1, \"time\": 1, \"comment\": \"\"}]}",
		"{\"confirm\": {\"commits\": [\"x\"], \"back_to\": []}, \"next\": \"x\"}",
		"{\"confirm\": {\"commits\": [7], \"back_to\": 3}}"};
	struct history *h = opened();
	uint32_t back_to;

	(void)state;
	history_close(h);
	for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		put("index.json", indexes[i]);
		put("commit-41.json", "{\"n\": 41}");
		put("index.json.tmp-abcdef", "{");
		put("commit-41.json.tmp-abcdef", "{");
		put("commit-x.json", "kept: not ours");
		h = opened();
		assert_false(waits(h, 41, &back_to));
		commit(h, 5);
		assert_false(there("commit-41.json"));
		assert_false(there("index.json.tmp-abcdef"));
		assert_false(there("commit-41.json.tmp-abcdef"));
		assert_true(there("commit-x.json"));
		history_close(h);
	}
	put("index.json", "{");
	put("commit-41.json", "{\"n\": 41}");
	h = opened();
	assert_int_equal(history_next(h),
		42); /* the lost index may have given number 41 to a different commit */
	history_close(h);
}

static void
test_no_folder(void **state)
{
	struct history *h = NULL;
	json_t *d = document(1);

	(void)state;
	assert_int_not_equal(history_open("/nowhere/at/all", &h), 0);
	assert_non_null(h);
	assert_int_not_equal(history_prepare(h, d, 0), 0);
	assert_int_not_equal(history_add(h, "words", "alice", false), 0);
	assert_int_equal(history_next(h), 1);
	assert_int_equal(kept(h, 0), 1); /* kept in memory */
	for (unsigned i = 0; i < HISTORY_MAX; i++)
		history_prepare(h, d, -1), history_add(h, "words", "alice", false);
	assert_int_equal(kept(h, 0), -1);
	assert_int_equal(kept(h, HISTORY_MAX), 1);
	json_decref(d);
	history_close(h);
}

static void
test_a_folder_has_one_keeld(void **state)
{
	struct history *h = opened(), *other = NULL;
	char path[96];

	(void)state;
	commit(h, 1);
	snprintf(path, sizeof(path), "%s/commits", folder);
	assert_int_equal(history_open(path, &other), -EWOULDBLOCK);
	json_t *d = document(2);
	assert_int_equal(history_prepare(other, d, -1), -EWOULDBLOCK);
	assert_int_equal(history_add(other, "words", "alice", false), -EWOULDBLOCK);
	json_decref(d);
	assert_int_equal(kept(other, 0), 2);
	assert_int_equal(kept(h, 0), 1);
	history_close(other);
	history_close(h);
	h = opened();
	assert_int_equal(kept(h, 0), 1);
	history_close(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ids_go_on, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_waiting, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_where_to_go_back_is_kept, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_damage, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_a_folder_has_one_keeld, make_folder, remove_folder),
		cmocka_unit_test(test_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
