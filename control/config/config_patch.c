/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON Pointer (RFC 6901), JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), and a diff that makes patches.
 *
 * Recursion goes as deep as a document, which has at most 64 levels.
 */
#include "control/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Bound on the values that the copies of a patch make. A copy into the parent of the value doubles the parent, so 30 short operations could
 * use all memory of the host. The largest documents have some 100,000 values.
 */
#define COPIES_MAX 200000u

/* ---- pointers ---- */

/* One reference token of a pointer, unescaped. */
struct token {
	char *text; /* allocated */
	const char *rest; /* "" at the end */
};

/* `pointer` begins with a slash. 0, -EINVAL, -ENOMEM. */
static int
token_next(const char *pointer, struct token *t)
{
	size_t len = strcspn(pointer + 1, "/");
	char *o = t->text = malloc(len + 1);

	if (!o)
		return -ENOMEM;
	t->rest = pointer + 1 + len;
	for (const char *p = pointer + 1; p < t->rest; p++) {
		if (*p != '~') {
			*o++ = *p;
			continue;
		}
		/* RFC 6901 3: ~ is followed by 0 or 1 */
		if (++p == t->rest || (*p != '0' && *p != '1')) {
			free(t->text);
			t->text = NULL;
			return -EINVAL;
		}
		*o++ = *p == '0' ? '~' : '/';
	}
	*o = '\0';
	return 0;
}

/* RFC 6901 4: digits without a leading zero. -1: no index. */
static long
array_index(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len > 9 || strspn(text, "0123456789") != len || (len > 1 && *text == '0'))
		return -1;
	return strtol(text, NULL, 10);
}

static json_t *
child_of(json_t *parent, const char *token)
{
	if (json_is_object(parent))
		return json_object_get(parent, token);
	long i = json_is_array(parent) ? array_index(token) : -1;
	return i >= 0 ? json_array_get(parent, (size_t)i) : NULL;
}

json_t *
config_pointer_get(json_t *document, const char *pointer)
{
	json_t *at = document;

	while (at && *pointer) {
		struct token t;
		if (*pointer != '/' || token_next(pointer, &t))
			return NULL;
		at = child_of(at, t.text);
		free(t.text);
		pointer = t.rest;
	}
	return at;
}

/* ---- shared values: an edit copies the objects and arrays on the way from the root ---- */

#ifdef __SANITIZE_THREAD__
/* Threads share values. jansson counts references atomically, but first compares the count of constants without. */
const char *__tsan_default_suppressions(void);

const char *
__tsan_default_suppressions(void)
{
	return "race:json_incref\nrace:json_decref\n";
}
#endif

json_t *
config_own(json_t *parent, const char *token)
{
	json_t *child = child_of(parent, token), *copy;

	/* the only reference is in the parent; threads that print a document take references for a while */
	if ((!json_is_object(child) && !json_is_array(child)) ||
		__atomic_load_n(&child->refcount, __ATOMIC_ACQUIRE) == 1)
		return child;
	copy = json_copy(child);
	if (copy == NULL ||
		(json_is_object(parent) ? json_object_set_new(parent, token, copy)
					: json_array_set_new(
						  parent, (size_t)array_index(token), copy)) != 0)
		return NULL;
	return copy;
}

#define SHARE_AHEAD 8u /* elements that may be removed together */

static const json_t *share(json_t *value, const json_t *known);

static const json_t *
share_members(json_t *object, const json_t *known) /* NOLINT(misc-no-recursion) */
{
	bool equal = json_object_size(object) == json_object_size(known);
	void *i = json_object_iter(object), *k = json_object_iter((json_t *)(uintptr_t)known);

	for (; i != NULL; i = json_object_iter_next(object, i)) {
		const char *key = json_object_iter_key(i);
		json_t *member = json_object_iter_value(i);
		const json_t *other = json_object_get(known, key), *shared = share(member, other);

		if (shared != member)
			json_object_iter_set(object, i, (json_t *)(uintptr_t)shared);
		equal = equal && shared == other && strcmp(key, json_object_iter_key(k)) == 0;
		k = json_object_iter_next((json_t *)(uintptr_t)known, k);
	}
	return equal ? known : object;
}

static const json_t *
share_elements(json_t *array, const json_t *known) /* NOLINT(misc-no-recursion) */
{
	size_t count = json_array_size(known), passed = 0;
	bool equal = json_array_size(array) == count;

	for (size_t i = 0; i < json_array_size(array); i++) {
		json_t *element = json_array_get(array, i);
		const json_t *other = json_array_get(known, passed);
		size_t k = passed;

		if (share(element, other) != other)
			do
				other = json_array_get(known, ++k);
			while (other != NULL && k < passed + SHARE_AHEAD &&
				!json_equal(element, other));
		equal = equal && k == i;
		if (other == NULL || k == passed + SHARE_AHEAD)
			continue;
		passed = k + 1;
		json_array_set(array, i, (json_t *)(uintptr_t)other);
	}
	return equal ? known : array;
}

/* `known`, when equal, also in the order of keys; else `value`. */
static const json_t *
share(json_t *value, const json_t *known) /* NOLINT(misc-no-recursion) */
{
	if (value == known || known == NULL || json_typeof(value) != json_typeof(known))
		return value;
	if (!json_is_object(value) && !json_is_array(value))
		return json_equal(value, known) ? known : value;
	if (__atomic_load_n(&value->refcount, __ATOMIC_ACQUIRE) > 1)
		return value;
	return json_is_object(value) ? share_members(value, known) : share_elements(value, known);
}

json_t *
config_share(json_t *document, const json_t *known)
{
	const json_t *shared = document != NULL ? share(document, known) : NULL;

	if (shared == document)
		return document;
	json_decref(document);
	return json_incref((json_t *)(uintptr_t)shared);
}

/*
 * The parent of the value at `pointer` (not the empty pointer), for a change, and the last token, which the caller frees. NULL when the parent does not exist.
 */
static json_t *
parent_of(json_t *document, const char *pointer, char **last)
{
	json_t *at = document;

	while (at && *pointer == '/') {
		struct token t;
		if (token_next(pointer, &t))
			return NULL;
		if (!*t.rest) {
			*last = t.text;
			return at;
		}
		at = config_own(at, t.text);
		free(t.text);
		pointer = t.rest;
	}
	return NULL;
}

/* ---- RFC 6902 ---- */

struct patch {
	json_t *document;
	struct faults *f;
	size_t index; /* of the operation */
	size_t one_by_one; /* operations before this index are not for splice() */
	unsigned copied; /* values */
	bool failed;
};

static int
patch_fault(struct patch *p, const char *key, const char *text, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/%zu%s%s", p->index, *key ? "/" : "", key);
	if (text)
		faults_add(p->f, path, "\"%s\" %s", text, what);
	else
		faults_add(p->f, path, "%s", what);
	p->failed = true;
	return -EINVAL;
}

/* RFC 6902 4.1. `value` is taken over. */
static int
put(struct patch *p, const char *key, const char *path, json_t *value)
{
	char *last = NULL;
	int err;

	if (!value)
		return patch_fault(p, key, NULL, "out of memory");
	if (!*path) {
		json_decref(p->document);
		p->document = value;
		return 0;
	}
	json_t *parent = parent_of(p->document, path, &last);
	if (json_is_object(parent)) {
		err = json_object_set_new(parent, last, value);
	} else if (json_is_array(parent)) {
		long i = !strcmp(last, "-") ? (long)json_array_size(parent) : array_index(last);
		err = i < 0 || json_array_insert_new(parent, (size_t)i, value);
		if (i < 0)
			json_decref(value);
	} else {
		json_decref(value);
		err = -1;
	}
	free(last);
	return err ? patch_fault(p, key, path, "is not in an object or array of the document") : 0;
}

/* RFC 6902 4.2. The caller gets the removed value in *taken, unless `taken` is NULL. */
static int
take_away(struct patch *p, const char *key, const char *path, json_t **taken)
{
	char *last = NULL;
	json_t *parent = parent_of(p->document, path, &last);
	json_t *value = parent ? child_of(parent, last) : NULL;

	if (!*path) {
		free(last);
		return patch_fault(p, key, NULL, "the whole document can't be removed");
	}
	if (!value) {
		free(last);
		return patch_fault(p, key, path, "does not exist in the document");
	}
	if (taken)
		*taken = json_incref(value);
	if (json_is_object(parent))
		json_object_del(parent, last);
	else
		json_array_remove(parent, (size_t)array_index(last));
	free(last);
	return 0;
}

static json_t *
value_at(struct patch *p, const char *key, const char *path)
{
	json_t *value = config_pointer_get(p->document, path);

	if (!value)
		patch_fault(p, key, path, "does not exist in the document");
	return value;
}

/* RFC 6902 4.6: numbers are equal when their values are. */
static bool
value_equal(const json_t *a, const json_t *b) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
		return json_number_value(a) == json_number_value(b);
	if (json_typeof(a) != json_typeof(b))
		return false;
	if (json_is_object(a)) {
		if (json_object_size(a) != json_object_size(b))
			return false;
		json_object_foreach((json_t *)(uintptr_t)a, key, value)
		{
			const json_t *other = json_object_get(b, key);
			if (!other || !value_equal(value, other))
				return false;
		}
		return true;
	}
	if (json_is_array(a)) {
		if (json_array_size(a) != json_array_size(b))
			return false;
		json_array_foreach(
			a, i, value) if (!value_equal(value, json_array_get(b, i))) return false;
		return true;
	}
	return json_equal(a, b);
}

static int
operation_replace(struct patch *p, const char *path, const json_t *value)
{
	if (!value_at(p, "path", path))
		return -EINVAL;
	if (*path && take_away(p, "path", path, NULL))
		return -EINVAL;
	return put(p, "path", path, json_deep_copy(value));
}

static bool
is_password(const char *pointer)
{
	const char *last = strrchr(pointer, '/');

	return last && !strcmp(last, "/password");
}

/* Under a different key the password would be shown. */
static int
password_stays(struct patch *p, const char *path, const char *from)
{
	if (is_password(from) && !is_password(path))
		return patch_fault(p, "path", path, "is no place for a password");
	return 0;
}

static int
operation_move(struct patch *p, const char *path, const char *from)
{
	size_t len = strlen(from);
	json_t *value;

	if (!value_at(p, "from", from) || password_stays(p, path, from))
		return -EINVAL;
	if (!strcmp(from, path))
		return 0;
	/* RFC 6902 4.4: not into the moved value */
	if (!strncmp(from, path, len) && path[len] == '/')
		return patch_fault(p, "path", path, "lies inside the value that is moved");
	if (take_away(p, "from", from, &value))
		return -EINVAL;
	return put(p, "path", path, value);
}

/* Adds the values of `v` to *count; stops above COPIES_MAX. */
static void
values_count(const json_t *v, unsigned *count) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *child;
	size_t i;

	if (++*count > COPIES_MAX)
		return;
	json_array_foreach(v, i, child)
	{
		values_count(child, count);
		if (*count > COPIES_MAX)
			return;
	}
	json_object_foreach((json_t *)(uintptr_t)v, key, child)
	{
		values_count(child, count);
		if (*count > COPIES_MAX)
			return;
	}
}

static int
operation_copy(struct patch *p, const char *path, const char *from)
{
	json_t *value = value_at(p, "from", from);

	if (!value || password_stays(p, path, from))
		return -EINVAL;
	values_count(value, &p->copied);
	if (p->copied > COPIES_MAX)
		return patch_fault(
			p, "from", NULL, "the copies of a patch have more than 200000 values");
	return put(p, "path", path, json_deep_copy(value));
}

static int
operation_test(struct patch *p, const char *path, const json_t *value)
{
	json_t *there = value_at(p, "path", path);

	if (!there)
		return -EINVAL;
	return value_equal(there, value)
		       ? 0
		       : patch_fault(p, "value", NULL, "does not equal the value in the document");
}

/* A string member that is a pointer, or NULL with a fault. */
static const char *
pointer_member(struct patch *p, const json_t *operation, const char *key)
{
	const json_t *member = json_object_get(operation, key);
	const char *text = json_string_value(member);

	if (!member)
		patch_fault(p, key, NULL, "is missing");
	else if (!text || (*text && *text != '/'))
		patch_fault(p, key, text, "is not a JSON Pointer");
	else
		return text;
	return NULL;
}

static int
apply(struct patch *p, const json_t *operation)
{
	const char *op = json_string_value(json_object_get(operation, "op"));
	const json_t *value = json_object_get(operation, "value");
	const char *path, *from = NULL;
	bool has_from, has_value;

	if (!json_is_object(operation))
		return patch_fault(p, "", NULL, "is not an object");
	if (!op)
		return patch_fault(p, "op", NULL,
			json_object_get(operation, "op") ? "is not a string" : "is missing");
	has_from = !strcmp(op, "move") || !strcmp(op, "copy");
	has_value = !strcmp(op, "add") || !strcmp(op, "replace") || !strcmp(op, "test");
	if (!has_from && !has_value && strcmp(op, "remove"))
		return patch_fault(
			p, "op", op, "is not one of add, remove, replace, move, copy, test");
	path = pointer_member(p, operation, "path");
	if (!path || (has_from && !(from = pointer_member(p, operation, "from"))))
		return -EINVAL;
	if (has_value && !value)
		return patch_fault(p, "value", NULL, "is missing");
	switch (*op) {
	case 'a':
		return put(p, "path", path, json_deep_copy(value));
	case 'm':
		return operation_move(p, path, from);
	case 'c':
		return operation_copy(p, path, from);
	case 't':
		return operation_test(p, path, value);
	default:
		return !strcmp(op, "remove") ? take_away(p, "path", path, NULL)
					     : operation_replace(p, path, value);
	}
}

/* ---- neighbours of an array, added or removed in a single pass: alone, each operation moves all elements behind ---- */

#define SPLICE_MIN 32u

/* The index of an operation `op` on an element of an array; -1: a different operation. *parent: the length of the array's path. */
static long
element_of(const json_t *operation, const char *op, size_t *parent)
{
	const char *is = json_string_value(json_object_get(operation, "op"));
	const char *path = json_string_value(json_object_get(operation, "path"));
	const char *last = path != NULL ? strrchr(path, '/') : NULL;

	if (is == NULL || last == NULL || strcmp(is, op) != 0 ||
		(*op == 'a' && json_object_get(operation, "value") == NULL))
		return -1;
	*parent = (size_t)(last - path);
	return array_index(last + 1);
}

static const char *
path_of(const json_t *operations, size_t i)
{
	return json_string_value(json_object_get(json_array_get(operations, i), "path"));
}

/* The number of operations from `first` on: additions of elements side by side, or removals at the same index. */
static size_t
neighbours(const json_t *operations, size_t first, const char *op, long at)
{
	size_t count = 1, parent, other;

	(void)element_of(json_array_get(operations, first), op, &parent);
	while (element_of(json_array_get(operations, first + count), op, &other) ==
			at + (*op == 'a' ? (long)count : 0) &&
		other == parent &&
		strncmp(path_of(operations, first), path_of(operations, first + count), parent) ==
			0)
		count++;
	return count;
}

/* Carries out `count` operations with the result of apply(). False: nothing is changed. */
static bool
splice_array(struct patch *p, const json_t *operations, size_t count, bool adds, size_t at)
{
	char *last = NULL;
	json_t *array = parent_of(p->document, path_of(operations, p->index), &last), **behind;
	size_t size = json_array_size(array), gone = adds ? 0 : count;

	free(last);
	if (!json_is_array(array) || at > size || gone > size - at)
		return false;
	behind = malloc((size - at + 1) * sizeof(*behind));
	if (behind == NULL)
		return false;
	for (size_t i = size; i-- > at;) {
		behind[i - at] = json_incref(json_array_get(array, i));
		(void)json_array_remove(array, i);
	}
	for (size_t i = 0; i < count && adds && !p->failed; i++)
		if (json_array_append_new(array,
			    json_deep_copy(json_object_get(
				    json_array_get(operations, p->index + i), "value"))) != 0)
			patch_fault(p, "path", NULL, "out of memory");
	for (size_t i = 0; i < size - at; i++) {
		if (i < gone)
			json_decref(behind[i]);
		else if (json_array_append_new(array, behind[i]) != 0 && !p->failed)
			patch_fault(p, "path", NULL, "out of memory");
	}
	free(behind);
	return true;
}

/* Returns the number of operations carried out; 0: none. */
static size_t
splice(struct patch *p, const json_t *operations)
{
	const json_t *first = json_array_get(operations, p->index);
	size_t parent, count;
	long add = element_of(first, "add", &parent), at = add;

	if (at < 0)
		at = element_of(first, "remove", &parent);
	if (at < 0 || p->index < p->one_by_one)
		return 0;
	count = neighbours(operations, p->index, add >= 0 ? "add" : "remove", at);
	if (count >= SPLICE_MIN && splice_array(p, operations, count, add >= 0, (size_t)at))
		return count;
	p->one_by_one = p->index + count;
	return 0;
}

json_t *
config_patch(const json_t *document, const json_t *operations, struct faults *f)
{
	struct patch p = {.f = f};

	if (!json_is_array(operations)) {
		faults_add(f, "", "is not an array of operations (RFC 6902)");
		return NULL;
	}
	p.document = json_copy((json_t *)(uintptr_t)document);
	if (!p.document) {
		faults_add(f, "", "out of memory");
		return NULL;
	}
	for (p.index = 0; p.index < json_array_size(operations) && !p.failed; p.index++) {
		size_t count = splice(&p, operations);

		if (count > 0)
			p.index += count - 1;
		else if (apply(&p, json_array_get(operations, p.index)))
			break;
	}
	if (!p.failed)
		return p.document;
	json_decref(p.document);
	return NULL;
}

/* ---- RFC 7396 ---- */

/* Merges into `target`. The caller is the only owner. */
static void
merge_into(json_t *target, const json_t *merge) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)merge, key, value)
	{
		json_t *old = json_object_get(target, key);
		if (json_is_null(value)) {
			json_object_del(target, key);
		} else if (!json_is_object(value)) {
			json_object_set_new(target, key, json_deep_copy(value));
		} else {
			if (!json_is_object(old))
				json_object_set_new(target, key, json_object());
			old = config_own(target, key);
			if (old)
				merge_into(old, value);
		}
	}
}

json_t *
config_merge(const json_t *document, const json_t *merge)
{
	if (!json_is_object(merge))
		return json_deep_copy(merge);
	json_t *merged =
		json_is_object(document) ? json_copy((json_t *)(uintptr_t)document) : json_object();
	if (merged)
		merge_into(merged, merge);
	return merged;
}

/* ---- diff ---- */

#define ELEMENTS_MAX 8 /* levels of arrays in a path */

struct diff {
	json_t *operations;
	json_t *old; /* replaced and removed values, null for additions; NULL: not wanted */
	json_t *elements; /* identities of the elements of arrays in each path; NULL: not wanted */
	const json_t *element[ELEMENTS_MAX]; /* of the current place */
	unsigned element_count;
	char *path; /* of the current place */
	size_t len, size;
	bool failed; /* out of memory */
};

/* The keys that identify an element; `vrf` does so with others. */
static const char *const identity_keys[] = {
	"name", "address", "seq", "prefix", "source", "file", "vrf"};
#define IDENTITY_KEYS (sizeof(identity_keys) / sizeof(identity_keys[0]))
#define IDENTITY_KEYS_ALONE 4 /* the first keys, each of which identifies an element alone */

/* Appends the identifying keys of an element. 0, -1. */
static int
identity_add(json_t *list, const json_t *element)
{
	json_t *o = json_object();
	int err = 0;

	for (size_t k = 0; k < IDENTITY_KEYS; k++) {
		json_t *id = json_object_get(element, identity_keys[k]);

		if (json_is_string(id) || json_is_integer(id))
			err |= json_object_set(o, identity_keys[k], id);
	}
	return json_array_append_new(list, o) | err;
}

json_t *
config_elements(json_t *document, const char *path)
{
	json_t *list = json_array(), *parent = document;
	struct token t;

	while (*path == '/' && token_next(path, &t) == 0) {
		json_t *child = child_of(parent, t.text);

		if (json_is_array(parent))
			(void)identity_add(list, child);
		parent = child;
		path = t.rest;
		free(t.text);
	}
	return list;
}

static void
emit_elements(struct diff *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < d->element_count && i < ELEMENTS_MAX; i++)
		d->failed |= identity_add(list, d->element[i]) != 0;
	if (json_array_append_new(d->elements, list) != 0)
		d->failed = true;
}

static void
emit(struct diff *d, const char *op, const json_t *old, const json_t *value)
{
	json_t *operation = json_object();

	json_object_set_new(operation, "op", json_string(op));
	json_object_set_new(operation, "path", json_string(d->path));
	if (value)
		json_object_set_new(operation, "value", json_deep_copy(value));
	if (json_array_append_new(d->operations, operation) ||
		json_object_size(operation) != (value ? 3 : 2))
		d->failed = true;
	if (d->old != NULL &&
		json_array_append_new(d->old, old != NULL ? json_deep_copy(old) : json_null()))
		d->failed = true;
	if (d->elements != NULL)
		emit_elements(d);
}

/* Appends `/token`; returns the old length, for path_back(). */
static size_t
path_push(struct diff *d, const char *token)
{
	size_t old = d->len, need = d->len + 2 * strlen(token) + 2;

	if (need > d->size) {
		char *grown = realloc(d->path, need * 2);
		if (!grown) {
			d->failed = true;
			return old;
		}
		d->path = grown;
		d->size = need * 2;
	}
	d->path[d->len++] = '/';
	for (; *token; token++) {
		if (*token == '~' || *token == '/') {
			d->path[d->len++] = '~';
			d->path[d->len++] = *token == '~' ? '0' : '1';
		} else {
			d->path[d->len++] = *token;
		}
	}
	d->path[d->len] = '\0';
	return old;
}

static size_t
path_push_index(struct diff *d, size_t index, const json_t *element)
{
	char text[24];

	if (d->element_count < ELEMENTS_MAX)
		d->element[d->element_count] = element;
	d->element_count++;
	snprintf(text, sizeof(text), "%zu", index);
	return path_push(d, text);
}

static void
path_back(struct diff *d, size_t len)
{
	d->len = len;
	d->path[len] = '\0';
}

static void
path_back_index(struct diff *d, size_t len)
{
	d->element_count--;
	path_back(d, len);
}

static void diff_value(struct diff *d, const json_t *from, const json_t *to);

static void
diff_object(struct diff *d, const json_t *from, const json_t *to) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		size_t old = path_push(d, key);
		const json_t *new_value = json_object_get(to, key);
		if (new_value)
			diff_value(d, value, new_value);
		else
			emit(d, "remove", value, NULL);
		path_back(d, old);
	}
	json_object_foreach((json_t *)(uintptr_t)to, key, value)
	{
		if (json_object_get(from, key))
			continue;
		size_t old = path_push(d, key);
		emit(d, "add", NULL, value);
		path_back(d, old);
	}
}

/*
 * The identity of an element: a text that stays when the element changes. With an address or a prefix the VPN instance belongs to the
 * identity. The identity of an element without a key is the whole value. Allocated.
 */
static char *
identity_of(const json_t *element)
{
	for (size_t i = 0; i < IDENTITY_KEYS_ALONE; i++) {
		const json_t *id = json_object_get(element, identity_keys[i]);
		const char *vrf = json_string_value(json_object_get(element, "vrf"));
		char *text, *with_vrf;

		if (!id)
			continue;
		text = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
		if (!text || !vrf || !strcmp(vrf, "default") ||
			(strcmp(identity_keys[i], "address") && strcmp(identity_keys[i], "prefix")))
			return text;
		if (asprintf(&with_vrf, "%s %s", text, vrf) < 0)
			with_vrf = NULL;
		free(text);
		return with_vrf;
	}
	return json_dumps(element, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
}

static void
free_identities(char **id, size_t count)
{
	for (size_t i = 0; id && i < count; i++)
		free(id[i]);
	free(id);
}

static char **
identities_of(const json_t *array, size_t first, size_t count)
{
	char **id = calloc(count + 1, sizeof(*id));

	for (size_t i = 0; id && i < count; i++) {
		id[i] = identity_of(json_array_get(array, first + i));
		if (!id[i]) {
			free_identities(id, i);
			return NULL;
		}
	}
	return id;
}

/*
 * Elements n of `from` and m of `to`, beginning at `first`, paired along a longest common subsequence of identities.
 * `common` is (n+1) * (m+1) lengths.
 */
static void
diff_aligned(struct diff *d, const json_t *from, const json_t *to, size_t first, char **a, size_t n,
	char **b, size_t m, uint16_t *common) /* NOLINT(misc-no-recursion) */
{
	size_t i, j, at = first;

	for (i = n + 1; i-- > 0;)
		for (j = m + 1; j-- > 0;) {
			uint16_t *cell = &common[i * (m + 1) + j], *below = cell + m + 1;
			if (i == n || j == m)
				*cell = 0;
			else if (!strcmp(a[i], b[j]))
				*cell = (uint16_t)(below[1] + 1);
			else
				*cell = below[0] > cell[1] ? below[0] : cell[1];
		}
	for (i = j = 0; i < n || j < m;) {
		const uint16_t *cell = &common[i * (m + 1) + j];
		bool same = i < n && j < m && !strcmp(a[i], b[j]),
		     removed = !same && i < n && (j == m || cell[m + 1] >= cell[1]);
		size_t old = path_push_index(d, at,
			removed ? json_array_get(from, first + i) : json_array_get(to, first + j));

		if (same) {
			diff_value(d, json_array_get(from, first + i++),
				json_array_get(to, first + j++));
			at++;
		} else if (removed) {
			emit(d, "remove", json_array_get(from, first + i++), NULL);
		} else {
			emit(d, "add", NULL, json_array_get(to, first + j++));
			at++;
		}
		path_back_index(d, old);
	}
}

/* Compares element by element; surplus elements at the end are removed or added. */
static void
diff_in_order(struct diff *d, const json_t *from, const json_t *to, size_t first, size_t n,
	size_t m) /* NOLINT(misc-no-recursion) */
{
	for (size_t i = 0; i < n || i < m; i++) {
		size_t old = path_push_index(
			d, first + (i < m ? i : m), json_array_get(i < m ? to : from, first + i));
		if (i < n && i < m)
			diff_value(
				d, json_array_get(from, first + i), json_array_get(to, first + i));
		else if (i < n)
			emit(d, "remove", json_array_get(from, first + i), NULL);
		else
			emit(d, "add", NULL, json_array_get(to, first + i));
		path_back_index(d, old);
	}
}

/* Enough for a list of about 2,000 elements that all changed: 8 MB and some 20 ms. */
#define CELLS_MAX 4000000

static void
diff_array(struct diff *d, const json_t *from, const json_t *to) /* NOLINT(misc-no-recursion) */
{
	size_t n = json_array_size(from), m = json_array_size(to), first = 0;
	char **a = NULL, **b = NULL;
	uint16_t *common = NULL;

	while (first < n && first < m &&
		json_equal(json_array_get(from, first), json_array_get(to, first)))
		first++;
	while (n > first && m > first &&
		json_equal(json_array_get(from, n - 1), json_array_get(to, m - 1))) {
		n--;
		m--;
	}
	size_t left = n - first, right = m - first;
	if (left < UINT16_MAX && right < UINT16_MAX && (left + 1) * (right + 1) <= CELLS_MAX) {
		a = identities_of(from, first, left);
		b = identities_of(to, first, right);
		common = malloc((left + 1) * (right + 1) * sizeof(*common));
	}
	if (a && b && common)
		diff_aligned(d, from, to, first, a, left, b, right, common);
	else
		diff_in_order(d, from, to, first, left, right);
	free_identities(a, left);
	free_identities(b, right);
	free(common);
}

static void
diff_value(struct diff *d, const json_t *from, const json_t *to) /* NOLINT(misc-no-recursion) */
{
	if (json_equal(from, to))
		return;
	if (json_is_object(from) && json_is_object(to))
		diff_object(d, from, to);
	else if (json_is_array(from) && json_is_array(to))
		diff_array(d, from, to);
	else
		emit(d, "replace", from, to);
}

json_t *
config_diff_old(const json_t *from, const json_t *to, json_t **old, json_t **elements)
{
	struct diff d = {.operations = json_array(),
		.old = old != NULL ? json_array() : NULL,
		.elements = elements != NULL ? json_array() : NULL,
		.size = 256,
		.path = calloc(1, 256)};

	if (d.path && d.operations)
		diff_value(&d, from, to);
	if (!d.path || d.failed || (old != NULL && d.old == NULL) ||
		(elements != NULL && d.elements == NULL)) {
		json_decref(d.operations);
		json_decref(d.old);
		json_decref(d.elements);
		d.operations = d.old = d.elements = NULL;
	}
	free(d.path);
	if (elements != NULL)
		*elements = d.elements;
	if (old != NULL)
		*old = d.old;
	return d.operations;
}

json_t *
config_diff(const json_t *from, const json_t *to)
{
	return config_diff_old(from, to, NULL, NULL);
}

static bool
find_value(struct diff *d, const json_t *at, const json_t *value) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *child;
	size_t i, old;

	if (at == value)
		return true;
	json_object_foreach((json_t *)(uintptr_t)at, key, child)
	{
		old = path_push(d, key);
		if (find_value(d, child, value))
			return true;
		path_back(d, old);
	}
	json_array_foreach(at, i, child)
	{
		old = path_push_index(d, i, child);
		if (find_value(d, child, value))
			return true;
		path_back_index(d, old);
	}
	return false;
}

json_t *
config_pointer_to(const json_t *document, const json_t *value)
{
	struct diff d = {.size = 256, .path = calloc(1, 256)};
	json_t *pointer = NULL;

	if (d.path && find_value(&d, document, value) && !d.failed)
		pointer = json_string(d.path);
	free(d.path);
	return pointer;
}
