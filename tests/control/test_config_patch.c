/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/config.h"
#include "tests/control/config_test.h"

#include <time.h>

/* ---- RFC 6901 ---- */

static void
test_pointers(void **state)
{
	/* RFC 6901 5 */
	json_t *d = document_of("{'foo': ['bar', 'baz'], '': 0, 'a/b': 1, 'c%d': 2, 'm~n': 8, ' ': "
				"7, 'o': {'~1': 3}}");
	static const struct {
		const char *pointer;
		int value;
	} good[] = {{"/", 0}, {"/a~1b", 1}, {"/c%d", 2}, {"/m~0n", 8}, {"/ ", 7}, {"/o/~01", 3}};
	static const char *const bad[] = {"foo", "/foo/2", "/foo/-", "/foo/01", "/foo/-1",
		"/foo/0/x", "/foo/0x", "/foo/", "/x", "/m~n", "/m~", "/foo/99999999999999999999"};

	(void)state;
	assert_ptr_equal(config_pointer_get(d, ""), d);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(
			json_integer_value(config_pointer_get(d, good[i].pointer)), good[i].value);
	assert_string_equal(json_string_value(config_pointer_get(d, "/foo/1")), "baz");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (config_pointer_get(d, bad[i]))
			fail_msg("%s is there", bad[i]);
	json_decref(d);
}

/* ---- RFC 6902 ---- */

/* Mostly from RFC 6902, appendix A. */
static const struct {
	const char *from, *patch, *to; /* `to` NULL: refused */
} patches[] = {
	{"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz', 'value': 'qux'}]",
		"{'baz': 'qux', 'foo': 'bar'}"},
	{"{'foo': ['bar', 'baz']}", "[{'op': 'add', 'path': '/foo/1', 'value': 'qux'}]",
		"{'foo': ['bar', 'qux', 'baz']}"},
	{"{'baz': 'qux', 'foo': 'bar'}", "[{'op': 'remove', 'path': '/baz'}]", "{'foo': 'bar'}"},
	{"{'foo': ['bar', 'qux', 'baz']}", "[{'op': 'remove', 'path': '/foo/1'}]",
		"{'foo': ['bar', 'baz']}"},
	{"{'baz': 'qux', 'foo': 'bar'}", "[{'op': 'replace', 'path': '/baz', 'value': 'boo'}]",
		"{'baz': 'boo', 'foo': 'bar'}"},
	{"{'foo': {'bar': 'baz', 'waldo': 'fred'}, 'qux': {'corge': 'grault'}}",
		"[{'op': 'move', 'from': '/foo/waldo', 'path': '/qux/thud'}]",
		"{'foo': {'bar': 'baz'}, 'qux': {'corge': 'grault', 'thud': 'fred'}}"},
	{"{'foo': ['all', 'grass', 'cows', 'eat']}",
		"[{'op': 'move', 'from': '/foo/1', 'path': '/foo/3'}]",
		"{'foo': ['all', 'cows', 'eat', 'grass']}"},
	{"{'baz': 'qux', 'foo': ['a', 2, 'c']}",
		"[{'op': 'test', 'path': '/baz', 'value': 'qux'}, {'op': 'test', 'path': '/foo/1', "
		"'value': 2}]",
		"{'baz': 'qux', 'foo': ['a', 2, 'c']}"},
	{"{'baz': 'qux'}", "[{'op': 'test', 'path': '/baz', 'value': 'bar'}]", NULL},
	{"{'foo': 'bar'}", "[{'op': 'add', 'path': '/child', 'value': {'grandchild': {}}}]",
		"{'foo': 'bar', 'child': {'grandchild': {}}}"},
	{"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz', 'value': 'qux', 'xyz': 123}]",
		"{'foo': 'bar', 'baz': 'qux'}"},
	{"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz/bat', 'value': 'qux'}]", NULL},
	{"{'/': 9, '~1': 10}", "[{'op': 'test', 'path': '/~01', 'value': 10}]",
		"{'/': 9, '~1': 10}"},
	{"{'/': 9, '~1': 10}", "[{'op': 'test', 'path': '/~01', 'value': '10'}]", NULL},
	{"{'foo': ['bar']}", "[{'op': 'add', 'path': '/foo/-', 'value': ['abc', 'def']}]",
		"{'foo': ['bar', ['abc', 'def']]}"},
	{"{'a': 1}", "[{'op': 'add', 'path': '', 'value': {'b': 2}}]", "{'b': 2}"},
	{"{'a': 1}", "[{'op': 'replace', 'path': '', 'value': {'b': 2}}]", "{'b': 2}"},
	{"{'a': {'x': 1}}", "[{'op': 'move', 'from': '/a', 'path': ''}]", "{'x': 1}"},
	{"{'a': 1}", "[{'op': 'remove', 'path': ''}]", NULL},
	{"{'a': {'b': 1}}", "[{'op': 'move', 'from': '/a', 'path': '/a/b/c'}]", NULL},
	{"{'a': {'b': 1}}", "[{'op': 'move', 'from': '/a', 'path': '/a'}]", "{'a': {'b': 1}}"},
	{"{'a': 1}", "[{'op': 'move', 'from': '/x', 'path': '/x'}]", NULL},
	{"{'a': [1, 2]}", "[{'op': 'copy', 'from': '/a', 'path': '/a/0'}]",
		"{'a': [[1, 2], 1, 2]}"},
	{"{'a': [1, 2]}", "[{'op': 'copy', 'from': '/b', 'path': '/a/0'}]", NULL},
	{"{'a': [1]}", "[{'op': 'add', 'path': '/a/1', 'value': 2}]", "{'a': [1, 2]}"},
	{"{'a': [1]}", "[{'op': 'add', 'path': '/a/2', 'value': 2}]", NULL},
	{"{'a': [1]}", "[{'op': 'replace', 'path': '/a/1', 'value': 2}]", NULL},
	{"{'a': [1]}", "[{'op': 'remove', 'path': '/a/-'}]", NULL},
	{"{'a': [1]}", "[{'op': 'add', 'path': '/a/01', 'value': 2}]", NULL},
	{"{'a': 1}", "[{'op': 'replace', 'path': '/b', 'value': 2}]", NULL},
	{"{'a': 1}", "[{'op': 'remove', 'path': '/b'}]", NULL},
	{"{'a': 1}", "[{'op': 'remove', 'path': 'a'}]", NULL},
	{"{'a': 1}", "[{'op': 'append', 'path': '/a'}]", NULL},
	{"{'a': 1}", "[{'path': '/a'}]", NULL},
	{"{'a': 1}", "[{'op': 'add', 'path': '/a'}]", NULL},
	{"{'a': 1}", "[{'op': 'add', 'value': 1}]", NULL},
	{"{'a': 1}", "[{'op': 'copy', 'path': '/b'}]", NULL},
	{"{'password': 'x'}", "[{'op': 'copy', 'from': '/password', 'path': '/description'}]",
		NULL},
	{"{'password': 'x'}", "[{'op': 'move', 'from': '/password', 'path': '/description'}]",
		NULL},
	{"{'a': {'password': 'x'}, 'b': {}}",
		"[{'op': 'move', 'from': '/a/password', 'path': '/b/password'}]",
		"{'a': {}, 'b': {'password': 'x'}}"},
	{"{'a': 1}", "[7]", NULL},
	{"{'a': 1}", "{}", NULL},
	{"{'a': 1}", "[{'op': 'add', 'path': '/b', 'value': null}]", "{'a': 1, 'b': null}"},
	{"{'a': 1}", "[{'op': 'test', 'path': '/a', 'value': 1.0}]", "{'a': 1}"},
	{"{'a': {'b': [1, {'c': 2}]}}",
		"[{'op': 'test', 'path': '/a', 'value': {'b': [1.0, {'c': 2}]}}]",
		"{'a': {'b': [1, {'c': 2}]}}"},
	{"{'a': {'b': [1, {'c': 2}]}}",
		"[{'op': 'test', 'path': '/a', 'value': {'b': [1, {'c': 3}]}}]", NULL},
	{"{'a': {'b': [1]}}", "[{'op': 'test', 'path': '/a', 'value': {'b': [1, 2]}}]", NULL},
	/* atomic: no partial result */
	{"{'a': 1}",
		"[{'op': 'replace', 'path': '/a', 'value': 2}, {'op': 'remove', 'path': '/x'}]",
		NULL},
};

static void
test_patches(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
		struct faults f = {0};
		json_t *from = document_of(patches[i].from), *copy = json_deep_copy(from);
		json_t *operations = document_of(patches[i].patch),
		       *operations_copy = json_deep_copy(operations);
		json_t *to = patches[i].to ? document_of(patches[i].to) : NULL;
		json_t *got = config_patch(from, operations, &f);
		if (to ? !json_equal(got, to) : got != NULL || f.count != 1)
			fail_msg("%s with %s", patches[i].from, patches[i].patch);
		assert_int_equal(f.count, to ? 0 : 1);
		/* the inputs are unchanged */
		assert_true(json_equal(from, copy));
		json_decref(got);
		assert_true(json_equal(operations, operations_copy));
		faults_fini(&f);
		json_decref(from);
		json_decref(copy);
		json_decref(operations);
		json_decref(operations_copy);
		json_decref(to);
	}
}

/* An edit copies objects and arrays on the way to the changed value only. */
static void
test_edits_share(void **state)
{
	static const char text[] = "{'bgp': {'peers': [{'address': 'a', 'password': 'p'}, "
				   "{'address': 'b'}], 'groups': [{}]}, 'lists': [[1], [2], [3]]}";
	json_t *d = document_of(text), *same = document_of(text);
	json_t *patch = document_of("[{'op': 'add', 'path': '/bgp/peers/1/x', 'value': 1},"
				    " {'op': 'add', 'path': '/lists/1/0', 'value': 7},"
				    " {'op': 'add', 'path': '/lists/1/0', 'value': 8}]");
	json_t *merge = document_of("{'bgp': {'x': {'y': 1}}}");
	json_t *hidden = document_of("[{'op': 'replace', 'path': '/bgp/peers/0/password', "
				     "'value': '***'}]");
	struct faults f = {0};
	json_t *patched = config_patch(d, patch, &f), *merged = config_merge(d, merge);
	json_t *kept = config_patch(d, hidden, &f);

	(void)state;
	config_secrets_keep(kept, d);
	assert_true(json_equal(d, same));
	assert_true(json_equal(kept, same));
	assert_ptr_equal(
		config_pointer_get(patched, "/bgp/groups"), config_pointer_get(d, "/bgp/groups"));
	assert_ptr_equal(
		config_pointer_get(patched, "/bgp/peers/0"), config_pointer_get(d, "/bgp/peers/0"));
	assert_ptr_equal(
		config_pointer_get(patched, "/lists/2"), config_pointer_get(d, "/lists/2"));
	assert_int_equal(json_array_size(config_pointer_get(patched, "/lists/1")), 3);
	assert_ptr_equal(
		config_pointer_get(merged, "/bgp/peers"), config_pointer_get(d, "/bgp/peers"));
	assert_ptr_equal(config_pointer_get(merged, "/lists"), config_pointer_get(d, "/lists"));
	assert_ptr_equal(config_pointer_get(kept, "/lists"), config_pointer_get(d, "/lists"));
	json_decref(kept);
	json_decref(merged);
	json_decref(patched);
	json_decref(hidden);
	json_decref(merge);
	json_decref(patch);
	json_decref(same);
	json_decref(d);
	faults_fini(&f);
}

/* The number of objects and arrays of `a` that are not in `b`, at any place. */
static unsigned
unshared(const json_t *a, json_t *b) /* NOLINT(misc-no-recursion) */
{
	json_t *pointer = config_pointer_to(b, a), *value;
	unsigned count = pointer == NULL;
	const char *key;
	size_t i;

	json_decref(pointer);
	if (count == 0 || (!json_is_object(a) && !json_is_array(a)))
		return 0;
	json_object_foreach((json_t *)(uintptr_t)a, key, value) count += unshared(value, b);
	json_array_foreach(a, i, value) count += unshared(value, b);
	return count;
}

static void
test_equal_values_become_shared(void **state)
{
	static const char text[] =
		"{'x': {'y': [1, 2]}, 'l': [{'n': 'a', 'e': [{'p': 1}, {'p': 2}, {'p': 3}]}, {'n': "
		"'b', 'e': [{'p': 1}, {'p': 4}]}, {'n': 'c', 'e': []}]}";
	static const struct {
		const char *patch;
		unsigned own; /* objects and arrays that the edited document has for itself */
	} cases[] = {{"[]", 0},
		/* the root alone, or the way to the change */
		{"[{'op': 'add', 'path': '/z', 'value': 1}]", 1},
		{"[{'op': 'add', 'path': '/x/y/0', 'value': 7}]", 3},
		{"[{'op': 'add', 'path': '/l/0/e/1', 'value': {'p': 9}}]", 5},
		{"[{'op': 'remove', 'path': '/l/0/e/1'}]", 4},
		{"[{'op': 'replace', 'path': '/l/0/e/1/p', 'value': 9}]", 5},
		{"[{'op': 'add', 'path': '/l/0', 'value': {'n': 'd'}}]", 3},
		{"[{'op': 'remove', 'path': '/l/0'}]", 2},
		{"[{'op': 'replace', 'path': '/l/1/e/0/p', 'value': 9}, {'op': 'remove', 'path': "
		 "'/x'}]",
			5},
		/* another order of keys is another text */
		{"[{'op': 'remove', 'path': '/l/1/n'}, {'op': 'add', 'path': '/l/1/n', 'value': "
		 "'b'}]",
			3}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *running = document_of(text), *same = document_of(text);
		json_t *operations = document_of(cases[i].patch);
		struct faults f = {0};
		json_t *patched = config_patch(running, operations, &f);
		json_t *fresh = json_deep_copy(patched);
		unsigned own;

		fresh = config_share(fresh, running);
		own = unshared(fresh, running);
		assert_true(json_equal(fresh, patched));
		assert_true(json_equal(running, same));
		if (own != cases[i].own)
			fail_msg("%s: %u", cases[i].patch, own);
		json_decref(fresh);
		json_decref(patched);
		json_decref(operations);
		json_decref(same);
		json_decref(running);
		faults_fini(&f);
	}
}

/* As from a document whose passwords are hidden first. */
static void
test_hidden_parts(void **state)
{
	static const char *const pointers[] = {"", "/bgp", "/bgp/peers/0", "/bgp/peers/0/password",
		"/bgp/peers/1/password", "/bgp/password", "/bgp/password/x", "/password/0",
		"/password", "/x/0"};
	json_t *d = document_of("{'bgp': {'peers': [{'password': 'p'}, {}], 'password': {'x': "
				"'secret'}}, 'password': ['secret'], 'x': [0, {}]}");
	json_t *hidden = json_deep_copy(d), *copy = json_deep_copy(d);

	(void)state;
	config_secrets_hide(hidden);
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
		json_t *want = config_pointer_get(hidden, pointers[i]);
		json_t *got = config_secrets_hidden(d, pointers[i]);

		if (want != NULL ? !json_equal(got, want) : got != NULL)
			fail_msg("%s", pointers[i]);
		if (i == 0) /* no copy of parts without passwords */
			assert_ptr_equal(json_object_get(got, "x"), json_object_get(d, "x"));
		assert_true(json_equal(d, copy));
		json_decref(got);
	}
	json_decref(copy);
	json_decref(hidden);
	json_decref(d);
}

static void
test_patch_faults(void **state)
{
	struct faults f = {0};
	json_t *from = document_of("{'a': [1]}");
	json_t *operations = document_of("[{'op': 'test', 'path': '/a/0', 'value': 1}, {'op': "
					 "'copy', 'path': '/b', 'from': '/c'}]");

	(void)state;
	assert_null(config_patch(from, operations, &f));
	assert_fault(&f, "/1/from", "\"/c\" does not exist in the document");
	json_decref(from);
	json_decref(operations);
	faults_fini(&f);
}

/* ---- RFC 7396, appendix A ---- */

static const struct {
	const char *from, *merge, *to;
} merges[] = {
	{"{'a': 'b'}", "{'a': 'c'}", "{'a': 'c'}"},
	{"{'a': 'b'}", "{'b': 'c'}", "{'a': 'b', 'b': 'c'}"},
	{"{'a': 'b'}", "{'a': null}", "{}"},
	{"{'a': 'b', 'b': 'c'}", "{'a': null}", "{'b': 'c'}"},
	{"{'a': ['b']}", "{'a': 'c'}", "{'a': 'c'}"},
	{"{'a': 'c'}", "{'a': ['b']}", "{'a': ['b']}"},
	{"{'a': {'b': 'c'}}", "{'a': {'b': 'd', 'c': null}}", "{'a': {'b': 'd'}}"},
	{"{'a': [{'b': 'c'}]}", "{'a': [1]}", "{'a': [1]}"},
	{"['a', 'b']", "['c', 'd']", "['c', 'd']"},
	{"{'a': 'b'}", "['c']", "['c']"},
	{"{'a': 'foo'}", "null", "null"},
	{"{'a': 'foo'}", "'bar'", "'bar'"},
	{"{'e': null}", "{'a': 1}", "{'e': null, 'a': 1}"},
	{"[1, 2]", "{'a': 'b', 'c': null}", "{'a': 'b'}"},
	{"{}", "{'a': {'bb': {'ccc': null}}}", "{'a': {'bb': {}}}"},
};

static void
test_merges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++) {
		json_t *from = document_of(merges[i].from), *copy = json_deep_copy(from);
		json_t *merge = document_of(merges[i].merge), *to = document_of(merges[i].to);
		json_t *got = config_merge(from, merge);
		if (!json_equal(got, to))
			fail_msg("%s with %s", merges[i].from, merges[i].merge);
		assert_true(json_equal(from, copy));
		json_decref(got);
		json_decref(from);
		json_decref(copy);
		json_decref(merge);
		json_decref(to);
	}
}

/* ---- diff ---- */

static json_t *
random_value(uint64_t *seed, unsigned depth)
{
	static const char *const keys[] = {"name", "address", "seq", "a/b", "m~n", "x", "", "0"};
	uint32_t kind = random_below(seed, depth ? 7 : 5);
	json_t *value;

	if (kind < 2)
		return json_integer(random_below(seed, 4));
	if (kind == 2)
		return json_string((const char *[]){"a", "b", "c"}[random_below(seed, 3)]);
	if (kind < 5)
		return random_below(seed, 3) ? json_boolean(random_below(seed, 2)) : json_null();
	if (kind == 5) {
		value = json_object();
		for (unsigned n = random_below(seed, 5); n; n--)
			json_object_set_new(
				value, keys[random_below(seed, 8)], random_value(seed, depth - 1));
		return value;
	}
	value = json_array();
	for (unsigned n = random_below(seed, 8); n; n--)
		json_array_append_new(value, random_value(seed, depth - 1));
	return value;
}

/* A copy with a few random changes, like edits of an operator. */
static json_t *
changed(const json_t *value, uint64_t *seed, unsigned depth)
{
	const char *key;
	json_t *element, *copy;
	size_t i;

	if (random_below(seed, 12) == 0)
		return random_value(seed, depth);
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach((json_t *)(uintptr_t)value, key,
			element) if (random_below(seed, 8)) json_object_set_new(copy, key,
			changed(element, seed, depth ? depth - 1 : 0));
		return copy;
	}
	if (!json_is_array(value))
		return json_deep_copy(value);
	copy = json_array();
	json_array_foreach(value, i, element)
	{
		if (random_below(seed, 8) == 0)
			json_array_append_new(copy, random_value(seed, depth ? depth - 1 : 0));
		if (random_below(seed, 8))
			json_array_append_new(copy, changed(element, seed, depth ? depth - 1 : 0));
	}
	return copy;
}

static void
check_diff(const json_t *from, const json_t *to, uint64_t seed)
{
	struct faults f = {0};
	json_t *operations = config_diff(from, to);
	json_t *got = config_patch(from, operations, &f);

	if (!json_equal(got, to)) {
		char *a = json_dumps(from, JSON_ENCODE_ANY), *b = json_dumps(to, JSON_ENCODE_ANY),
		     *d = json_dumps(operations, 0);
		fail_msg("seed %llu: %s to %s by %s", (unsigned long long)seed, a, b, d);
	}
	assert_int_equal(json_array_size(operations) == 0, json_equal(from, to));
	json_decref(got);
	json_decref(operations);
	faults_fini(&f);
}

static void
test_diff_makes_what_it_says(void **state)
{
	(void)state;
	for (uint64_t first = 1; first <= 20000; first++) {
		uint64_t seed = first;
		json_t *from = random_value(&seed, 4);
		json_t *to = first % 4 ? changed(from, &seed, 4) : random_value(&seed, 4);
		check_diff(from, to, first);
		json_decref(from);
		json_decref(to);
	}
}

/* Too long for a full alignment. */
static void
test_diff_of_long_lists(void **state)
{
	json_t *from = json_array(), *to = json_array();

	(void)state;
	for (int i = 0; i < 5000; i++) {
		json_array_append_new(from, json_integer(i));
		json_array_append_new(to, json_integer(i % 3 ? i : -i));
	}
	json_array_remove(to, 100);
	check_diff(from, to, 0);
	check_diff(to, from, 0);
	json_decref(from);
	json_decref(to);
}

/* {list}: -1, -2, `more` numbers from `end` on, 0 to `end`. */
static json_t *
numbers(int end, int more)
{
	json_t *d = json_pack("{s:[i, i]}", "list", -1, -2), *list = json_object_get(d, "list");

	for (int i = 0; i < more; i++)
		json_array_append_new(list, json_integer(end + i));
	for (int i = 0; i < end; i++)
		json_array_append_new(list, json_integer(i));
	return d;
}

static json_t *
patched(const json_t *from, const json_t *operations)
{
	struct faults f = {0};
	json_t *made = config_patch(from, operations, &f);

	assert_int_equal(f.count, 0);
	return made;
}

/* Neighbours near the front of a long list are added and removed in the time of one pass; one by one it was 18 s. */
static void
test_many_neighbours(void **state)
{
	json_t *few = numbers(400000, 0), *more = numbers(400000, 60000);
	json_t *adds = config_diff(few, more), *removes = config_diff(more, few), *made;
	clock_t began = clock();

	(void)state;
	assert_int_equal(json_array_size(adds), 60000);
	assert_int_equal(json_array_size(removes), 60000);
	made = patched(few, adds);
	assert_true(json_equal(made, more));
	json_decref(made);
	made = patched(more, removes);
	assert_true(json_equal(made, few));
	json_decref(made);
	assert_in_range((clock() - began) / CLOCKS_PER_SEC, 0, 2);
	json_decref(few);
	few = numbers(0, 0); /* the last elements are missing */
	struct faults f = {0};
	assert_null(config_patch(few, removes, &f));
	assert_int_equal(f.count, 1);
	assert_string_equal(f.fault[0].path, "/0/path");
	faults_fini(&f);
	json_decref(few);
	json_decref(more);
	json_decref(adds);
	json_decref(removes);
}

/* Removing an element in the middle is one operation, not an operation for each later element. */
static void
test_diff_is_short(void **state)
{
	json_t *from = document_of(
		"{'bgp': {'peers': [{'address': '192.0.2.1', 'asn': 1}, {'address': '192.0.2.2', "
		"'asn': 2},"
		" {'address': '192.0.2.3', 'asn': 3}, {'address': '192.0.2.4', 'asn': 4}]}}");
	json_t *to = document_of("{'bgp': {'peers': [{'address': '192.0.2.1', 'asn': 7}, "
				 "{'address': '192.0.2.3', 'asn': 3},"
				 " {'address': '192.0.2.4', 'asn': 8}]}}");
	json_t *wanted = document_of("[{'op': 'replace', 'path': '/bgp/peers/0/asn', 'value': 7}, "
				     "{'op': 'remove', 'path': '/bgp/peers/1'},"
				     " {'op': 'replace', 'path': '/bgp/peers/2/asn', 'value': 8}]");
	json_t *got = config_diff(from, to);

	(void)state;
	assert_true(json_equal(got, wanted));
	json_decref(from);
	json_decref(to);
	json_decref(wanted);
	json_decref(got);
}

/* One address in two VPN instances is two peers; "default" is the instance without a name; a port that moves stays. */
static void
test_diff_pairs_within_an_instance(void **state)
{
	static const char *const cases[][3] = {
		{"{'peers': [{'address': '192.0.2.1', 'asn': 1}, {'address': '192.0.2.1', 'vrf': "
		 "'red', 'asn': 2}]}",
			"{'peers': [{'address': '192.0.2.1', 'vrf': 'red', 'asn': 3}]}",
			"[{'op': 'remove', 'path': '/peers/0'}, {'op': 'replace', 'path': "
			"'/peers/0/asn', 'value': 3}]"},
		{"{'networks': [{'prefix': '10.0.0.0/8', 'vrf': 'blue'}, {'prefix': '10.0.0.0/8', "
		 "'vrf': 'red'}]}",
			"{'networks': [{'prefix': '10.0.0.0/8', 'vrf': 'red', 'policy': 'p'}]}",
			"[{'op': 'remove', 'path': '/networks/0'}, {'op': 'add', 'path': "
			"'/networks/0/policy', 'value': 'p'}]"},
		{"{'peers': [{'address': '192.0.2.1', 'asn': 1}]}",
			"{'peers': [{'address': '192.0.2.1', 'asn': 1, 'vrf': 'default'}]}",
			"[{'op': 'add', 'path': '/peers/0/vrf', 'value': 'default'}]"},
		{"{'ports': [{'name': 'p', 'vrf': 'red'}]}",
			"{'ports': [{'name': 'p', 'vrf': 'blue'}]}",
			"[{'op': 'replace', 'path': '/ports/0/vrf', 'value': 'blue'}]"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *from = document_of(cases[i][0]), *to = document_of(cases[i][1]);
		json_t *wanted = document_of(cases[i][2]), *got = config_diff(from, to);

		if (!json_equal(got, wanted))
			fail_msg("%zu: %s", i, json_dumps(got, 0));
		json_decref(from);
		json_decref(to);
		json_decref(wanted);
		json_decref(got);
	}
}

/*
 * Each copy of /a into itself doubles the document: 40 copies would take the memory of the host, 18
 * make 524,288 values.
 */
static void
test_copies_are_bounded(void **state)
{
	json_t *from = json_pack("{s:{s:i}}", "a", "x", 1), *operations = json_array(), *to;
	struct faults f = {0};

	(void)state;
	for (int i = 0; i < 18; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/a/b%d", i);
		json_array_append_new(operations,
			json_pack("{s:s, s:s, s:s}", "op", "copy", "from", "/a", "path", path));
	}
	to = config_patch(from, operations, &f);
	assert_null(to);
	assert_int_equal(f.count, 1);
	assert_string_equal(f.fault[0].path, "/16/from");
	assert_string_equal(
		f.fault[0].reason, "the copies of a patch have more than 200000 values");
	faults_fini(&f);
	json_decref(operations);
	json_decref(from);
}

/* The edits from `from` to `edited`, on `onto`. */
static void
test_rebase(void **state)
{
#define A "{'address': '192.0.2.2'}"
#define B "{'address': '192.0.2.3'}"
#define B_EDITED "{'address': '192.0.2.3', 'description': 'edited'}"
#define B_OF_RED "{'address': '192.0.2.3', 'vrf': 'red'}"
#define C "{'address': '192.0.2.4'}"
	static const struct {
		const char *from, *edited, *onto, *to;
	} cases[] = {
		/* an edit belongs to its peer, not to the position */
		{"{'p': [" A "," B "]}", "{'p': [" A "," B_EDITED "]}", "{'p': [" B "]}",
			"{'p': [" B_EDITED "]}"},
		{"{'p': [" A "," B "]}", "{'p': [" A "," B_EDITED "]}", "{'p': [" B "," C "]}",
			"{'p': [" B_EDITED "," C "]}"},
		{"{'p': [" A "," B "]}", "{'p': [" B "]}", "{'p': [" C "," A "," B "]}",
			"{'p': [" C "," B "]}"},
		{"{'p': [" A "]}", "{'p': [" A "," B "]}", "{'p': [" C "," A "]}",
			"{'p': [" C "," A "," B "]}"},
		{"{'p': [" B "," B_OF_RED "]}", "{'p': [" B_OF_RED "]}",
			"{'p': [" B "," B_OF_RED "," C "]}", "{'p': [" B_OF_RED "," C "]}"},
		/* the peer is gone, and its edit with it */
		{"{'p': [" A "," B "]}", "{'p': [" A "," B_EDITED "]}", "{'p': [" A "," C "]}",
			"{'p': [" A "," C "]}"},
		/* the edit wins */
		{"{'x': 1}", "{'x': 2}", "{'x': 3, 'y': 4}", "{'x': 2, 'y': 4}"},
		{"{'x': 1}", "{}", "{'x': 3, 'y': 4}", "{'y': 4}"},
		{"{'x': {'a': 1}}", "{'x': {'a': 1, 'b': 2}}", "{'x': {'a': 5}}",
			"{'x': {'a': 5, 'b': 2}}"},
		/* without an edit the new document */
		{"{'x': 1, 'z': 1}", "{'x': 1, 'z': 1}", "{'y': 3}", "{'y': 3}"},
		/* elements without a key */
		{"{'l': ['-a', 'b']}", "{'l': ['-a', 'c']}", "{'l': ['-a', 'b'], 'q': 1}",
			"{'l': ['-a', 'c'], 'q': 1}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *from = document_of(cases[i].from), *edited = document_of(cases[i].edited),
		       *onto = document_of(cases[i].onto), *to = document_of(cases[i].to),
		       *made = config_rebase(from, edited, onto);

		if (!json_equal(made, to))
			fail_msg("case %zu: %s", i, json_dumps(made, JSON_COMPACT));
		json_decref(made);
		json_decref(to);
		json_decref(onto);
		json_decref(edited);
		json_decref(from);
	}
}

/* ---- changes of two authors ---- */

#define PEER(n, d) "{'address': '192.0.2." #n "', 'asn': " #d "}"
#define PEERS(...) "{'bgp': {'peers': [" __VA_ARGS__ "]}}"
#define POLICY(nodes) "{'route_policies': [{'name': 'p', 'nodes': [" nodes "]}]}"
#define NODE(n, a) "{'seq': " #n ", 'action': '" a "'}"

static const struct two {
	const char *base, *mine, *theirs;
	const char *to, *next_base; /* next_base NULL: theirs */
	const char *objects; /* of the conflicts, each followed by a comma */
	const char *path; /* of the first conflict */
} twos[] = {
	/* different objects */
	{PEERS(PEER(2, 1) "," PEER(3, 1)), PEERS(PEER(2, 5) "," PEER(3, 1)),
		PEERS(PEER(2, 1) "," PEER(3, 7)), PEERS(PEER(2, 5) "," PEER(3, 7)), NULL, "", NULL},
	{"{'bgp': {'a': 1, 'b': 1}}", "{'bgp': {'a': 2, 'b': 1}}",
		"{'bgp': {'a': 1, 'b': 3}, 'c': 1}", "{'bgp': {'a': 2, 'b': 3}, 'c': 1}", NULL, "",
		NULL},
	{"{}", "{'bgp': {'a': 2}}", "{'bgp': {'b': 3}}", "{'bgp': {'b': 3, 'a': 2}}", NULL, "",
		NULL},
	/* an added element, a removed one, a moved one */
	{PEERS(PEER(2, 1)), PEERS(PEER(2, 1) "," PEER(3, 1)), PEERS(PEER(4, 1) "," PEER(2, 1)),
		PEERS(PEER(4, 1) "," PEER(2, 1) "," PEER(3, 1)), NULL, "", NULL},
	{PEERS(PEER(2, 1) "," PEER(3, 1)), PEERS(PEER(3, 1)), PEERS(PEER(2, 1) "," PEER(3, 7)),
		PEERS(PEER(3, 7)), NULL, "", NULL},
	{"{'bgp': {'networks': [{'prefix': '192.0.2.0/24'}]}}", "{'bgp': {}}",
		"{'bgp': {'networks': [{'prefix': '192.0.2.0/24'}, {'prefix': '10.0.0.0/8'}]}}",
		"{'bgp': {'networks': [{'prefix': '10.0.0.0/8'}]}}", NULL, "", NULL},
	/* the same change of both */
	{PEERS(PEER(2, 1)), PEERS(PEER(2, 5)), PEERS(PEER(2, 5) "," PEER(3, 1)),
		PEERS(PEER(2, 5) "," PEER(3, 1)), NULL, "", NULL},
	/* one object, also where the keys differ */
	{PEERS(PEER(2, 1) "," PEER(3, 1)), PEERS(PEER(2, 1) "," PEER(3, 5)),
		PEERS(PEER(2, 9) "," PEER(3, 7)), PEERS(PEER(2, 9) "," PEER(3, 5)),
		PEERS(PEER(2, 9) "," PEER(3, 1)), "bgp peers 192.0.2.3,", "/bgp/peers/1"},
	{PEERS("{'address': '192.0.2.2', 'vrf': 'red'}"),
		PEERS("{'address': '192.0.2.2', 'vrf': 'red', 'a': 1}"),
		PEERS("{'address': '192.0.2.2', 'vrf': 'red', 'b': 1}"),
		PEERS("{'address': '192.0.2.2', 'vrf': 'red', 'a': 1}"),
		PEERS("{'address': '192.0.2.2', 'vrf': 'red'}"), "bgp peers 192.0.2.2 red,",
		"/bgp/peers/0"},
	{"{'bgp': {'a': 1}}", "{'bgp': {'a': 2}}", "{'bgp': {'a': 3}}", "{'bgp': {'a': 2}}",
		"{'bgp': {'a': 1}}", "bgp a,", "/bgp/a"},
	/* removed by one, changed by the other */
	{PEERS(PEER(2, 1)), PEERS(PEER(2, 5)), PEERS(""), PEERS(PEER(2, 5)), PEERS(PEER(2, 1)),
		"bgp peers 192.0.2.2,", "/bgp/peers/0"},
	{PEERS(PEER(2, 1)), PEERS(""), PEERS(PEER(3, 1) "," PEER(2, 5)), PEERS(PEER(3, 1)),
		PEERS(PEER(3, 1) "," PEER(2, 1)), "bgp peers 192.0.2.2,", "/bgp/peers/1"},
	{"{'bgp': {'a': 1}}", "{}", "{'bgp': {'a': 2}}", "{}", "{'bgp': {'a': 1}}", "bgp,", "/bgp"},
	/* added by both */
	{PEERS(""), PEERS(PEER(2, 1)), PEERS(PEER(2, 5)), PEERS(PEER(2, 1)), PEERS(""),
		"bgp peers 192.0.2.2,", "/bgp/peers/0"},
	/* the nodes of a policy are objects, its other keys are one */
	{POLICY(NODE(10, "permit") "," NODE(20, "permit")),
		POLICY(NODE(10, "deny") "," NODE(20, "permit")),
		POLICY(NODE(10, "permit") "," NODE(20, "deny") "," NODE(30, "deny")),
		POLICY(NODE(10, "deny") "," NODE(20, "deny") "," NODE(30, "deny")), NULL, "", NULL},
	{POLICY(NODE(10, "permit")), POLICY(NODE(10, "deny")), POLICY(""), POLICY(NODE(10, "deny")),
		POLICY(NODE(10, "permit")), "route_policies p node 10,",
		"/route_policies/0/nodes/0"},
	{"{'route_policies': [{'name': 'p', 'nodes': [], 'description': 'a'}]}",
		"{'route_policies': [{'name': 'p', 'nodes': [], 'description': 'b'}]}",
		"{'route_policies': [{'name': 'p', 'nodes': [{'seq': 1}], 'description': 'c'}]}",
		"{'route_policies': [{'name': 'p', 'nodes': [{'seq': 1}], 'description': 'b'}]}",
		"{'route_policies': [{'name': 'p', 'nodes': [{'seq': 1}], 'description': 'a'}]}",
		"route_policies p,", "/route_policies/0"},
	/* a policy of one name that two authors add is one object: their nodes are not mixed */
	{"{'route_policies': []}", POLICY(NODE(10, "permit")), POLICY(NODE(20, "permit")),
		POLICY(NODE(10, "permit")), "{'route_policies': []}", "route_policies p,",
		"/route_policies/0"},
	/* the order of a list counts: the list is one object */
	{"{'prefix_lists': [{'name': 'l', 'entries': [{'prefix': '10.0.0.0/8'}]}]}",
		"{'prefix_lists': [{'name': 'l', 'entries': [{'prefix': '10.1.0.0/16'}, {'prefix': "
		"'10.0.0.0/8'}]}]}",
		"{'prefix_lists': [{'name': 'l', 'entries': [{'prefix': '10.0.0.0/8'}, {'prefix': "
		"'10.2.0.0/16'}]}]}",
		"{'prefix_lists': [{'name': 'l', 'entries': [{'prefix': '10.1.0.0/16'}, {'prefix': "
		"'10.0.0.0/8'}]}]}",
		"{'prefix_lists': [{'name': 'l', 'entries': [{'prefix': '10.0.0.0/8'}]}]}",
		"prefix_lists l,", "/prefix_lists/0"},
	/* elements without names, and two elements of one name: the array is one object */
	{"{'l': ['a']}", "{'l': ['a', 'b']}", "{'l': ['a', 'c']}", "{'l': ['a', 'b']}",
		"{'l': ['a']}", "l,", "/l"},
	{PEERS(PEER(2, 1)), PEERS(PEER(2, 1) "," PEER(2, 2)), PEERS(PEER(2, 1) "," PEER(3, 2)),
		PEERS(PEER(2, 1) "," PEER(2, 2)), PEERS(PEER(2, 1)), "bgp peers,", "/bgp/peers"},
};

static void
expect_document(size_t i, const char *what, const json_t *made, const char *text)
{
	json_t *to = document_of(text);

	if (!json_equal(made, to))
		fail_msg("case %zu, %s: %s", i, what, json_dumps(made, JSON_COMPACT));
	json_decref(to);
}

static void
expect_conflicts(size_t i, const struct two *c, const json_t *conflicts)
{
	const char *path = json_string_value(json_object_get(json_array_get(conflicts, 0), "path"));
	char objects[256] = "";
	const json_t *one;
	size_t n;

	json_array_foreach(conflicts, n, one)
	{
		strcat(objects, json_string_value(json_object_get(one, "object")));
		strcat(objects, ",");
	}
	if (strcmp(objects, c->objects) != 0 ||
		(c->path != NULL && (path == NULL || strcmp(path, c->path) != 0)))
		fail_msg("case %zu: %s", i, json_dumps(conflicts, 0));
}

static void
test_two_authors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(twos) / sizeof(twos[0]); i++) {
		const struct two *c = &twos[i];
		json_t *base = document_of(c->base), *mine = document_of(c->mine),
		       *theirs = document_of(c->theirs), *conflicts, *again, *made, *other;

		made = config_reconcile(&base, mine, theirs, CONFLICTS_KEEP, &conflicts);
		expect_document(i, "merged", made, c->to);
		expect_document(i, "base", base, c->next_base != NULL ? c->next_base : c->theirs);
		expect_conflicts(i, c, conflicts);
		/* a conflict is found again, and ends with the other side's object */
		other = config_reconcile(&base, made, theirs, CONFLICTS_KEEP, &again);
		expect_document(i, "merged again", other, c->to);
		expect_conflicts(i, c, again);
		json_decref(other);
		json_decref(again);
		other = config_reconcile(&base, made, theirs, CONFLICTS_THEIRS, &again);
		assert_int_equal(json_array_size(again), 0);
		assert_true(json_equal(base, theirs));
		json_decref(other);
		json_decref(again);
		json_decref(made);
		json_decref(conflicts);
		json_decref(theirs);
		json_decref(mine);
		json_decref(base);
	}
}

/* The ends of a conflict: other edits stay. */
static void
test_resolutions(void **state)
{
#define KEYS(...) "{'bgp': {'peers': [{'address': '192.0.2.2', " __VA_ARGS__ "}], 'x': 5}}"
#define LIST(...) "{'prefix_lists': [{'name': 'l', 'entries': [" __VA_ARGS__ "]}]}"
#define ENTRY(n) "{'prefix': '10." #n ".0.0/16'}"
	static const struct {
		const char *base, *mine, *theirs, *to_mine, *to_theirs;
	} cases[] = {
		{PEERS(PEER(2, 1) "," PEER(3, 1)), PEERS(PEER(2, 5) "," PEER(3, 5)),
			PEERS(PEER(2, 1) "," PEER(3, 7)), PEERS(PEER(2, 5) "," PEER(3, 5)),
			PEERS(PEER(2, 5) "," PEER(3, 7))},
		/* my edited keys, and the other author's keys */
		{KEYS("'a': 1, 'b': 1, 'c': 1"), KEYS("'a': 2, 'b': 1, 'c': 2"),
			KEYS("'a': 1, 'b': 3, 'c': 3"), KEYS("'a': 2, 'b': 3, 'c': 2"),
			KEYS("'a': 1, 'b': 3, 'c': 3")},
		/* a list is not mixed */
		{LIST(ENTRY(1)), LIST(ENTRY(2) "," ENTRY(1)), LIST(ENTRY(1) "," ENTRY(3)),
			LIST(ENTRY(2) "," ENTRY(1)), LIST(ENTRY(1) "," ENTRY(3))},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned mine_wins = 0; mine_wins < 2; mine_wins++) {
			json_t *base = document_of(cases[i].base),
			       *mine = document_of(cases[i].mine),
			       *theirs = document_of(cases[i].theirs),
			       *made = config_reconcile(&base, mine, theirs,
				       mine_wins ? CONFLICTS_MINE : CONFLICTS_THEIRS, NULL);

			expect_document(i, mine_wins ? "mine" : "theirs", made,
				mine_wins ? cases[i].to_mine : cases[i].to_theirs);
			assert_true(json_equal(base, theirs));
			json_decref(made);
			json_decref(theirs);
			json_decref(mine);
			json_decref(base);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_patches),
		cmocka_unit_test(test_edits_share),
		cmocka_unit_test(test_equal_values_become_shared),
		cmocka_unit_test(test_hidden_parts),
		cmocka_unit_test(test_patch_faults),
		cmocka_unit_test(test_diff_pairs_within_an_instance),
		cmocka_unit_test(test_copies_are_bounded),
		cmocka_unit_test(test_merges),
		cmocka_unit_test(test_diff_makes_what_it_says),
		cmocka_unit_test(test_diff_of_long_lists),
		cmocka_unit_test(test_many_neighbours),
		cmocka_unit_test(test_diff_is_short),
		cmocka_unit_test(test_rebase),
		cmocka_unit_test(test_two_authors),
		cmocka_unit_test(test_resolutions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
