/* SPDX-License-Identifier: BSD-3-Clause */
/* Hides passwords in answers, and restores hidden passwords in edited documents. */
#include "control/config/config.h"

#include <stdio.h>
#include <string.h>

static bool
is_hidden(const json_t *v)
{
	return json_is_string(v) && strcmp(json_string_value(v), CONFIG_SECRET_HIDDEN) == 0;
}

void
config_secrets_hide(json_t *document)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_array(document)) {
		json_array_foreach(document, i, item) config_secrets_hide(item);
		return;
	}
	json_object_foreach(document, key, item)
	{
		if (!strcmp(key, "password"))
			json_object_set_new(document, key, json_string(CONFIG_SECRET_HIDDEN));
		else
			config_secrets_hide(item);
	}
}

static bool
ends_in_password(const char *path)
{
	const char *last = path ? strrchr(path, '/') : NULL;

	return last && !strcmp(last, "/password");
}

/* True when the path of the operation ends in `password`. */
static bool
is_secret(const json_t *operation)
{
	return ends_in_password(json_string_value(json_object_get(operation, "path")));
}

/* A new reference: `value`, or with passwords a copy of the objects and arrays on the way to them. */
static json_t *
hidden(json_t *value) /* NOLINT(misc-no-recursion) */
{
	bool object = json_is_object(value);
	json_t *copy = json_incref(value), *item, *shown;
	void *member = json_object_iter(value);
	const char *key = "";

	for (size_t i = 0; object ? member != NULL : i < json_array_size(value); i++) {
		if (object)
			key = json_object_iter_key(member);
		item = object ? json_object_iter_value(member) : json_array_get(value, i);
		shown = strcmp(key, "password") == 0 ? json_string(CONFIG_SECRET_HIDDEN)
						     : hidden(item);
		if (shown != item && copy == value) {
			json_decref(value);
			copy = json_copy(value);
		}
		if (shown == item)
			json_decref(shown);
		else if (object)
			json_object_set_new(copy, key, shown);
		else
			json_array_set_new(copy, i, shown);
		if (object)
			member = json_object_iter_next(value, member);
	}
	return copy;
}

json_t *
config_secrets_hidden(json_t *document, const char *pointer)
{
	json_t *value = config_pointer_get(document, pointer);

	if (strstr(pointer, "/password/"))
		return NULL; /* a string has no members */
	if (value == NULL || ends_in_password(pointer))
		return value != NULL ? json_string(CONFIG_SECRET_HIDDEN) : NULL;
	return hidden(value);
}

void
config_secrets_hide_diff(json_t *operations)
{
	json_t *operation;
	size_t i;

	json_array_foreach(operations, i, operation)
	{
		json_t *value = json_object_get(operation, "value");

		if (is_secret(operation) && value != NULL)
			json_object_set_new(operation, "value", json_string(CONFIG_SECRET_HIDDEN));
		else
			config_secrets_hide(value);
	}
}

void
config_secrets_hide_old(const json_t *operations, json_t *old)
{
	json_t *value;
	size_t i;

	json_array_foreach(old, i, value)
	{
		if (is_secret(json_array_get(operations, i)) && !json_is_null(value))
			json_array_set_new(old, i, json_string(CONFIG_SECRET_HIDDEN));
		else
			config_secrets_hide(value);
	}
}

/* True when the key or the path may be a mistyped `password`, or the word of another program for it. */
static bool
may_be_secret(const char *name)
{
	static const char *const parts[] = {"pas", "pw", "secret", "md5", "auth", "key"};

	for (size_t i = 0; name && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcasestr(name, parts[i]))
			return true;
	return false;
}

void
config_secrets_hide_misplaced(json_t *params)
{
	const char *path = json_string_value(json_object_get(params, "path")), *key;
	json_t *item;
	void *next;
	size_t i;

	json_array_foreach(params, i, item) config_secrets_hide_misplaced(item);
	json_object_foreach_safe(params, next, key, item)
	{
		bool secret = may_be_secret(key) || (!strcmp(key, "value") && may_be_secret(path));

		if (secret && !json_is_boolean(item) && !json_is_null(item))
			json_object_set_new(params, key, json_string(CONFIG_SECRET_HIDDEN));
		else
			config_secrets_hide_misplaced(item);
	}
}

static bool
same_text(const json_t *a, const json_t *b, const char *key, const char *absent)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
	const char *xs = x ? json_string_value(x) : absent, *ys = y ? json_string_value(y) : absent;

	return xs && ys && !strcmp(xs, ys);
}

/* Compares addresses, not texts. */
static bool
same_address(const json_t *a, const json_t *b)
{
	const char *x = json_string_value(json_object_get(a, "address")),
		   *y = json_string_value(json_object_get(b, "address"));
	struct ip_addr ax, ay;

	if (!x || !y)
		return false;
	return !strcmp(x, y) ||
	       (!addr_parse(x, &ax) && !addr_parse(y, &ay) && addr_equal(&ax, &ay));
}

static bool
same_peer(const json_t *a, const json_t *b)
{
	return same_address(a, b) && same_text(a, b, "vrf", "default");
}

static bool
same_group(const json_t *a, const json_t *b)
{
	return same_text(a, b, "name", NULL);
}

static bool
same_cache(const json_t *a, const json_t *b)
{
	const json_t *x = json_object_get(a, "port"), *y = json_object_get(b, "port");

	return same_address(a, b) && (x == y || (x != NULL && y != NULL && json_equal(x, y)));
}

/* The elements of an array `key` of the section. */
static void
keep_in(json_t *document, const json_t *known, const char *section, const char *key,
	bool (*same)(const json_t *a, const json_t *b))
{
	const json_t *array = json_object_get(json_object_get(document, section), key);
	const json_t *was_array = json_object_get(json_object_get(known, section), key);
	json_t *object, *other;
	char index[24];
	size_t i, j;

	for (i = 0; i < json_array_size(array); i++) {
		object = json_array_get(array, i);
		if (!is_hidden(json_object_get(object, "password")))
			continue;
		json_array_foreach((json_t *)(uintptr_t)was_array, j, other)
		{
			const json_t *was = json_object_get(other, "password");
			if (!json_is_string(was) || is_hidden(was) || !same(object, other))
				continue;
			snprintf(index, sizeof(index), "%zu", i);
			array = config_own(config_own(document, section), key);
			json_object_set_new(config_own((json_t *)(uintptr_t)array, index),
				"password", json_string(json_string_value(was)));
			break;
		}
	}
}

void
config_secrets_keep(json_t *document, const json_t *known)
{
	keep_in(document, known, "bgp", "peers", same_peer);
	keep_in(document, known, "bgp", "groups", same_group);
	keep_in(document, known, "rpki", "caches", same_cache);
}
