/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define KEPT 1000

static struct jobs *jobs;

static int
begin(void **state)
{
	(void)state;
	jobs = jobs_create();
	return jobs != NULL ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	jobs_destroy(jobs);
	return 0;
}

/* True if the job exists with this state and progress. */
static bool
is(uint32_t id, const char *state, json_int_t done, json_int_t total)
{
	json_t *j = jobs_get(jobs, id);
	const char *kind, *s;
	json_int_t got_id, got_done, got_total;
	double started;
	json_t *finished, *result;
	bool same;

	if (j == NULL)
		return false;
	assert_int_equal(json_unpack(j, "{s:I,s:s,s:s,s:I,s:I,s:f,s:o,s:o !}", "id", &got_id,
				 "kind", &kind, "state", &s, "done", &got_done, "total", &got_total,
				 "started_s", &started, "finished_s", &finished, "result", &result),
		0);
	assert_int_equal(got_id, id);
	assert_true(started > 1.6e9);
	if (strcmp(s, "running") == 0)
		assert_true(json_is_null(finished) && json_is_null(result));
	else
		assert_true(json_real_value(finished) >= started);
	same = strcmp(s, state) == 0 && got_done == done && got_total == total;
	json_decref(j);
	return same;
}

static bool
exists(uint32_t id)
{
	json_t *j = jobs_get(jobs, id);

	json_decref(j);
	return j != NULL;
}

static void
test_life(void **state)
{
	uint32_t a, b, c;
	json_t *list, *j;

	(void)state;
	a = jobs_begin(jobs, "refresh-import", 3);
	b = jobs_begin(jobs, "audit", 0);
	c = jobs_begin(jobs, "refresh-export", 1);
	assert_int_equal(a, 1);
	assert_int_equal(b, 2);
	assert_int_equal(c, 3);
	assert_true(is(a, "running", 0, 3));
	jobs_advance(jobs, a, 2);
	assert_true(is(a, "running", 2, 3));
	jobs_advance(jobs, a, 1);
	assert_true(is(a, "done", 3, 3));
	jobs_advance(jobs, a, 1); /* the job has ended */
	assert_true(is(a, "done", 3, 3));
	/* a job with unknown total never ends without jobs_end() */
	jobs_advance(jobs, b, 1000000);
	assert_true(is(b, "running", 1000000, 0));
	jobs_end(jobs, b, false, json_pack("{s:i}", "mismatches", 0));
	assert_true(is(b, "done", 1000000, 0));
	j = jobs_get(jobs, b);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(j, "result"), "mismatches")), 0);
	assert_string_equal(json_string_value(json_object_get(j, "kind")), "audit");
	json_decref(j);
	/* a second end changes nothing; its result is freed nevertheless (leak checker) */
	jobs_end(jobs, b, true, json_pack("{s:i}", "mismatches", 1));
	assert_true(is(b, "done", 1000000, 0));
	/* progress beyond the total counts as the total */
	jobs_advance(jobs, c, 5);
	assert_true(is(c, "done", 1, 1));
	list = jobs_list(jobs);
	assert_int_equal(json_array_size(list), 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
			json_integer_value(json_object_get(json_array_get(list, i), "id")), i + 1);
	json_decref(list);
}

static void
test_parts_fail(void **state)
{
	uint32_t a, b;
	json_t *j;

	(void)state;
	a = jobs_begin(jobs, "refresh-import", 3);
	jobs_fail_part(jobs, a, "session-down");
	assert_true(is(a, "running", 1, 3));
	jobs_advance(jobs, a, 1);
	jobs_fail_part(jobs, a, "timeout");
	assert_true(is(a, "failed", 3, 3));
	j = jobs_get(jobs, a);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(j, "result"), "reason")),
		"session-down");
	json_decref(j);
	b = jobs_begin(jobs, "audit", 0);
	jobs_end(jobs, b, true, NULL);
	assert_true(is(b, "failed", 0, 0));
}

/* Invalid ids: 0 (no memory), an id never used, a forgotten id. */
static void
test_no_such_job(void **state)
{
	uint32_t a, b, c;

	(void)state;
	assert_null(jobs_get(jobs, 0));
	jobs_advance(jobs, 0, 1);
	jobs_fail_part(jobs, 7, "x");
	jobs_forget(jobs, 7);
	jobs_end(jobs, 7, false, json_object());
	a = jobs_begin(jobs, "audit", 1);
	b = jobs_begin(jobs, "audit", 1);
	c = jobs_begin(jobs, "audit", 1);
	jobs_forget(jobs, b);
	assert_false(exists(b));
	assert_true(is(a, "running", 0, 1));
	assert_true(is(c, "running", 0, 1));
	jobs_advance(jobs, b, 1);
	jobs_advance(jobs, c, 1);
	assert_true(is(c, "done", 1, 1));
	/* ids are never reused */
	assert_int_equal(jobs_begin(jobs, "audit", 1), 4);
}

static void
test_thousand_are_kept(void **state)
{
	json_t *list;

	(void)state;
	for (uint32_t i = 1; i <= 3 * KEPT; i++) {
		uint32_t id = jobs_begin(jobs, "refresh-import", 1);

		assert_int_equal(id, i);
		jobs_advance(jobs, id, 1);
	}
	list = jobs_list(jobs);
	assert_int_equal(json_array_size(list), KEPT);
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(list, 0), "id")), 2 * KEPT + 1);
	json_decref(list);
	assert_false(exists(2 * KEPT));
	assert_true(exists(2 * KEPT + 1));
}

/*
 * The result of a long job must remain available: the table keeps the last ended jobs, not the last
 * begun.
 */
static void
test_long_one_is_kept(void **state)
{
	uint32_t old = jobs_begin(jobs, "audit", 0), next;

	(void)state;
	for (unsigned i = 0; i < KEPT + 10; i++)
		jobs_advance(jobs, jobs_begin(jobs, "refresh-import", 1), 1);
	assert_true(is(old, "running", 0, 0));
	jobs_end(jobs, old, false, NULL);
	next = jobs_begin(jobs, "refresh-import", 1);
	assert_true(is(old, "done", 0, 0));
	assert_true(exists(next));
	/* dropped after a thousand later jobs have ended */
	for (unsigned i = 0; i < KEPT + 1; i++)
		jobs_advance(jobs, jobs_begin(jobs, "refresh-import", 1), 1);
	assert_false(exists(old));
	assert_true(is(next, "running", 0, 1));
}

/* Many jobs end together: the bound is enforced at once. */
static void
test_many_end_together(void **state)
{
	json_t *list;

	(void)state;
	for (unsigned i = 0; i < 3 * KEPT; i++)
		assert_true(jobs_begin(jobs, "refresh-import", 1) != 0);
	list = jobs_list(jobs);
	assert_int_equal(json_array_size(list), 3 * KEPT);
	json_decref(list);
	for (uint32_t id = 1; id <= 3 * KEPT; id++)
		jobs_advance(jobs, id, 1);
	list = jobs_list(jobs);
	assert_int_equal(json_array_size(list), KEPT);
	json_decref(list);
	assert_false(exists(2 * KEPT));
	assert_true(exists(3 * KEPT));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, begin, end),
		cmocka_unit_test_setup_teardown(test_parts_fail, begin, end),
		cmocka_unit_test_setup_teardown(test_no_such_job, begin, end),
		cmocka_unit_test_setup_teardown(test_thousand_are_kept, begin, end),
		cmocka_unit_test_setup_teardown(test_long_one_is_kept, begin, end),
		cmocka_unit_test_setup_teardown(test_many_end_together, begin, end),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
