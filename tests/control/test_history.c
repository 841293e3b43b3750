/* SPDX-License-Identifier: BSD-3-Clause */
/* The folder of commits alone; keeld's use of the folder is tested in test_history.py. */
#include "control/base/disk.h"
#include "control/config/config.h"
#include "control/apply/history.h"
#include "tests/control/config_test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static struct disk *disk; /* without a thread: done() is called in the call */

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
	assert_int_equal(history_open(path, disk, &h), 0);
	return h;
}

static json_t *
document(unsigned n)
{
	return json_pack("{s:i}", "n", (int)n);
}

static void
take(void *ctx, int err)
{
	*(int *)ctx = err;
}

static int
prepared(struct history *h, json_t *d, int64_t back_to)
{
	int err = 1;

	history_prepare(h, d, back_to, take, &err);
	return err;
}

static int
added(struct history *h, bool waits)
{
	int err = 1;

	history_settle(h, history_add(h, "words", "alice"), NULL,
		waits ? HISTORY_WAITS : HISTORY_CONFIRMED, take, &err);
	return err;
}

static void
prepare(struct history *h, unsigned n, int64_t back_to)
{
	json_t *d = document(n);

	assert_int_equal(prepared(h, d, back_to), 0);
	json_decref(d);
}

static void
commit(struct history *h, unsigned n)
{
	prepare(h, n, -1);
	assert_int_equal(added(h, false), 0);
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
	assert_int_equal(added(h, true), 0);
	/*
	 * A second unconfirmed commit on top, with FILE still the first or already the second: both
	 * roll back to the state before the first.
	 */
	prepare(h, 2, 0);
	history_close(h);
	h = opened();
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(waits(h, n, &back_to));
		assert_int_equal(back_to, 0);
	}
	assert_int_equal(added(h, true), 0);
	int err = 1;
	history_confirm(h, take, &err);
	assert_int_equal(err, 0);
	history_close(h);
	h = opened();
	assert_false(waits(h, 2, &back_to));
	/* A commit without confirmation ends the wait. */
	prepare(h, 3, 2);
	assert_int_equal(added(h, true), 0);
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
		assert_int_equal(added(h, true), 0);
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
	assert_int_not_equal(history_open("/nowhere/at/all", disk, &h), 0);
	assert_non_null(h);
	assert_int_not_equal(prepared(h, d, 0), 0);
	assert_int_not_equal(added(h, false), 0);
	assert_int_equal(history_next(h), 1);
	assert_int_equal(kept(h, 0), 1); /* kept in memory */
	for (unsigned i = 0; i < HISTORY_MAX; i++)
		prepared(h, d, -1), added(h, false);
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
	assert_int_equal(history_open(path, disk, &other), -EWOULDBLOCK);
	json_t *d = document(2);
	assert_int_equal(prepared(other, d, -1), -EWOULDBLOCK);
	assert_int_equal(added(other, false), -EWOULDBLOCK);
	json_decref(d);
	assert_int_equal(kept(other, 0), 2);
	assert_int_equal(kept(h, 0), 1);
	history_close(other);
	history_close(h);
	h = opened();
	assert_int_equal(kept(h, 0), 1);
	history_close(h);
}

/* A large document: `size` entries of a list, entry `changed` with the number `n`. */
static json_t *
large(unsigned size, unsigned changed, unsigned n)
{
	json_t *list = json_array(), *e;

	for (unsigned i = 0; i < size; i++) {
		e = json_pack("{s:i, s:s}", "seq", (int)i, "text",
			"an entry of a list with some text, to make the document large");
		if (i == changed)
			json_object_set_new(e, "n", json_integer(n));
		json_array_append_new(list, e);
	}
	return json_pack("{s:o}", "list", list);
}

static off_t
octets_of(const char *name)
{
	struct stat st;
	char path[160];

	snprintf(path, sizeof(path), "%s/commits/%s", folder, name);
	return stat(path, &st) == 0 ? st.st_size : -1;
}

#define LARGE 2000

static void
large_commit(struct history *h, unsigned n)
{
	json_t *d = large(LARGE, n % LARGE, n);

	assert_int_equal(prepared(h, d, -1), 0);
	json_decref(d);
	assert_int_equal(added(h, false), 0);
}

static void
large_check(const struct history *h, unsigned first, unsigned end)
{
	for (unsigned n = first; n < end; n++) {
		json_t *want = large(LARGE, n % LARGE, n), *got = history_document(h, n);

		assert_non_null(got);
		assert_true(json_equal(got, want));
		json_decref(want);
		json_decref(got);
	}
}

/* Large documents cost their difference, over restarts, and while the oldest are dropped. */
static void
test_differences(void **state)
{
	struct history *h = opened();
	char name[64];
	unsigned n = 0, whole = 0;

	(void)state;
	for (; n < 20; n++)
		large_commit(h, n);
	assert_true(octets_of("commit-0.json") > HISTORY_LARGE_OCTETS);
	assert_in_range(octets_of("commit-1.from-0.json"), 1, 1000);
	large_check(h, 0, n);
	history_close(h);
	h = opened();
	large_check(h, 0, n);
	json_t *last = large(LARGE, n - 1, n - 1);
	assert_true(history_is_last(h, last));
	json_decref(last);
	for (; n < HISTORY_MAX + 30; n++)
		large_commit(h, n);
	large_check(h, n - HISTORY_MAX, n);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "commit-%u.json", i);
		whole += octets_of(name) > HISTORY_LARGE_OCTETS;
	}
	assert_in_range(whole, HISTORY_MAX / (HISTORY_CHAIN_MAX + 1),
		HISTORY_MAX / (HISTORY_CHAIN_MAX + 1) + 2);
	assert_int_equal(octets_of("commit-1.from-0.json"), -1);
	history_close(h);
	h = opened();
	large_check(h, n - HISTORY_MAX, n);
	history_close(h);
}

/* A commit is refused after history_prepare(), and the next commit has its id. */
static void
test_differences_of_refused(void **state)
{
	struct history *h = opened();

	(void)state;
	large_commit(h, 0);
	for (unsigned n = 7; n < 9; n++) {
		json_t *refused = large(LARGE, n, n);

		assert_int_equal(prepared(h, refused, -1), 0);
		json_decref(refused);
	}
	assert_true(there("commit-1.from-0.json"));
	large_commit(h, 1);
	large_commit(h, 2);
	/* a document without an equal entry is written whole */
	json_t *other = large(LARGE, 0, 0), *e;
	size_t i;
	json_array_foreach(json_object_get(other, "list"), i, e)
		json_object_set_new(e, "seq", json_integer((json_int_t)(LARGE + i)));
	json_object_set_new(other, "n", json_integer(3));
	assert_int_equal(prepared(h, other, -1), 0);
	json_decref(other);
	assert_int_equal(added(h, false), 0);
	assert_true(there("commit-3.json"));
	assert_int_equal(kept(h, 3), 3);
	large_check(h, 0, 3);
	history_close(h);
	/* Without the whole document the commits with differences are not kept. */
	h = opened();
	large_check(h, 0, 3);
	history_close(h);
	put("commit-0.json", "{");
	h = opened();
	assert_null(history_document(h, 0));
	assert_null(history_document(h, 2));
	assert_int_equal(kept(h, 3), 3);
	history_close(h);
}

/* A commit of a full disk, to which a later one may return, is written before the later one waits. */
static void
test_where_to_go_back_is_written(void **state)
{
	struct history *h = opened();
	char path[96];
	uint32_t back_to;
	json_t *d = document(1);

	(void)state;
	commit(h, 0);
	snprintf(path, sizeof(path), "%s/commits/commit-1.json", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_not_equal(prepared(h, d, -1), 0);
	assert_int_equal(added(h, false), 0);
	json_decref(d);
	d = document(2);
	assert_int_not_equal(prepared(h, d, 1), 0);
	json_decref(d);
	assert_int_equal(rmdir(path), 0);
	prepare(h, 2, 1);
	assert_int_equal(added(h, true), 0);
	history_close(h);
	h = opened();
	assert_true(waits(h, 2, &back_to));
	assert_int_equal(back_to, 1);
	assert_int_equal(kept(h, 1), 1);
	history_close(h);
}

/* A commit that FILE has does not return to where an earlier one would have. */
static void
test_each_commit_returns_to_its_own(void **state)
{
	struct history *h = opened();
	uint32_t back_to, id;
	int err = 1;

	(void)state;
	commit(h, 0);
	prepare(h, 1, 0);
	assert_int_equal(added(h, true), 0);
	prepare(h, 2, -1); /* confirms, but FILE keeps the commit 1 */
	id = history_add(h, "words", "alice");
	history_settle(h, id, NULL, HISTORY_NOT_WRITTEN, take, &err);
	assert_int_equal(err, 0);
	prepare(h, 3, 2);
	assert_true(waits(h, 1, &back_to));
	assert_int_equal(back_to, 0);
	assert_int_equal(added(h, true), 0);
	history_close(h);
	h = opened();
	assert_true(waits(h, 3, &back_to));
	assert_int_equal(back_to, 2);
	assert_false(waits(h, 1, &back_to));
	history_close(h);
}

/* Commits with a policy file in common: the commit to return to is on disk, and is not written again. */
static void
test_where_to_go_back_shares_a_file(void **state)
{
	struct history *h = opened();
	json_t *texts = json_pack("{s:s}", "/f.policy", "policy f { accept; }\n"), *d;
	uint32_t back_to;

	(void)state;
	assert_int_equal(history_policy_files(h, texts), 0);
	json_decref(texts);
	large_commit(h, 0);
	large_commit(h, 1);
	d = large(LARGE, 2, 2);
	assert_int_equal(prepared(h, d, 1), 0);
	assert_int_equal(added(h, true), 0);
	assert_true(there("commit-1.from-0.json"));
	assert_false(there("commit-1.json"));
	history_close(h);
	h = opened();
	assert_true(history_waits(h, d, &back_to));
	assert_int_equal(back_to, 1);
	large_check(h, 0, 3);
	json_decref(d);
	history_close(h);
}

/* A refused commit of the same id leaves no document that a start would take for that of the commit. */
static void
test_no_document_of_a_refused_commit(void **state)
{
	struct history *h = opened();

	(void)state;
	large_commit(h, 0);
	put("commit-1.json", "{\"n\": 7}");
	large_commit(h, 1);
	assert_true(there("commit-1.from-0.json"));
	assert_false(there("commit-1.json"));
	history_close(h);
	h = opened();
	large_check(h, 0, 1);
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
		cmocka_unit_test_setup_teardown(test_differences, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_differences_of_refused, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_where_to_go_back_is_written, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_each_commit_returns_to_its_own, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_where_to_go_back_shares_a_file, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			test_no_document_of_a_refused_commit, make_folder, remove_folder),
		cmocka_unit_test(test_no_folder),
	};

	role_enter_main();
	return disk_create(&disk) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
