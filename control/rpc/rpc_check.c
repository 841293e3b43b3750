/* SPDX-License-Identifier: BSD-3-Clause */
/* All faults of a request's parameters, by the table of methods: unknown, missing, of a wrong type, of a wrong value. Main only. */
#include "control/rpc/rpc_call.h"

#include "control/config/config.h"
#include "control/config/near.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PARAMS_MAX 100 /* named: the answer must stay small where a request has millions */
#define REASON_MAX 512

/* RFC 6901 3. A long key is cut off. */
static void
pointer_of_key(const char *key, char *out, size_t size)
{
	char *end = out + size - 3; /* an escape and the end */

	*out++ = '/';
	for (; *key != '\0' && out < end; key++) {
		if (*key == '~' || *key == '/') {
			*out++ = '~';
			*out++ = *key == '~' ? '0' : '1';
		} else {
			*out++ = *key;
		}
	}
	*out = '\0';
}

static bool
type_is(const struct rpc_word *w, const char *type)
{
	return w->type_len == strlen(type) && memcmp(w->type, type, w->type_len) == 0;
}

bool
rpc_word_range(const struct rpc_word *w, json_int_t *min, json_int_t *max)
{
	char *end;

	if (w->type_len < 8 || strncmp(w->type, "integer=", 8) != 0)
		return false;
	*min = strtoll(w->type + 8, &end, 10);
	*max = strtoll(end + 2, NULL, 10); /* behind ".." */
	return true;
}

/* "a, b, c" of a|b|c; true when `text` is among them. */
static bool
word_among(const struct rpc_word *w, const char *text, char *list, size_t size)
{
	const char *p = w->type, *end = w->type + w->type_len;
	size_t at = 0;

	for (list[0] = '\0'; p < end;) {
		size_t len = strcspn(p, "| ");

		if (strlen(text) == len && memcmp(text, p, len) == 0)
			return true;
		if (at < size)
			at += (size_t)snprintf(
				list + at, size - at, "%s%.*s", at > 0 ? ", " : "", (int)len, p);
		p += len + 1;
	}
	return false;
}

static void
check_string(const struct rpc_word *w, const char *text, const char *path, struct faults *f)
{
	struct prefix prefix;
	struct ip_addr addr;
	char list[REASON_MAX];

	if (type_is(w, "string"))
		return;
	if (type_is(w, "family")) {
		if (family_from_text(text) == FAMILY_COUNT)
			faults_add(f, path, "\"%.64s\" is not a family", text);
	} else if (type_is(w, "address")) {
		/* A zone may be of an interface that is not there now. */
		if (addr_parse(text, &addr) != 0 && strchr(text, '%') == NULL)
			faults_add(f, path, "\"%.64s\" is not an IP address", text);
	} else if (type_is(w, "prefix")) {
		int err = prefix_parse(text, &prefix);

		if (err == -EDOM)
			faults_add(f, path, "\"%.64s\" has bits set beyond its length (host bits)",
				text);
		else if (err != 0)
			faults_add(f, path, "\"%.64s\" is not a prefix", text);
	} else if (!word_among(w, text, list, sizeof(list))) {
		faults_add(f, path, "\"%.64s\" is not one of %s", text, list);
	}
}

static void
check_value(const struct rpc_word *w, const json_t *v, const char *path, struct faults *f)
{
	json_int_t min, max;

	if (w->type_len == 0 || type_is(w, "any"))
		return;
	if (type_is(w, "boolean")) {
		if (!json_is_boolean(v))
			faults_add(f, path, "is not true or false");
	} else if (type_is(w, "object")) {
		if (!json_is_object(v))
			faults_add(f, path, "is not an object");
	} else if (type_is(w, "array")) {
		if (!json_is_array(v))
			faults_add(f, path, "is not an array");
	} else if (type_is(w, "integer")) {
		if (!json_is_integer(v))
			faults_add(f, path, "is not an integer");
	} else if (type_is(w, "number")) {
		if (!json_is_number(v))
			faults_add(f, path, "is not a number");
	} else if (rpc_word_range(w, &min, &max)) {
		if (!json_is_integer(v) || json_integer_value(v) < min ||
			json_integer_value(v) > max)
			faults_add(f, path, "is not an integer from %lld to %lld", (long long)min,
				(long long)max);
	} else if (!json_is_string(v)) {
		faults_add(f, path, "is not a string");
	} else {
		check_string(w, json_string_value(v), path, f);
	}
}

static bool
word_in(const char *list, const char *name)
{
	struct rpc_word w;

	while (rpc_word_next(&list, &w)) {
		if (strcmp(w.name, name) == 0)
			return true;
	}
	return false;
}

static void
check_unknown(const struct rpc_method *m, const char *key, struct faults *f)
{
	const char *list = m->params;
	struct near near = near_begin(key);
	struct rpc_word w;
	char path[128];

	pointer_of_key(key, path, sizeof(path));
	while (rpc_word_next(&list, &w))
		near_consider(&near, w.name);
	if (near.found[0] != '\0')
		faults_add(f, path, "%s has no parameter \"%.64s\"; did you mean \"%s\"?", m->name,
			key, near.found);
	else
		faults_add(f, path, "%s has no parameter \"%.64s\"", m->name, key);
}

bool
rpc_params_check(const struct rpc_method *m, json_t *params, struct rpc_call *call)
{
	const char *key, *list = m->params;
	struct faults f = {0};
	struct rpc_word w;
	json_t *value;
	char path[128];
	bool good;

	json_object_foreach(params, key, value)
	{
		if (word_in(m->params, key))
			continue;
		check_unknown(m, key, &f);
		if (f.count == UNKNOWN_PARAMS_MAX)
			break;
	}
	while (rpc_word_next(&list, &w)) {
		value = json_object_get(params, w.name);
		snprintf(path, sizeof(path), "/%s", w.name);
		if (value != NULL)
			check_value(&w, value, path, &f);
		else if (w.mark == '!')
			faults_add(&f, path, "is missing");
	}
	good = f.count == 0 && f.lost == 0;
	if (!good)
		rpc_fail_faults(call, RPC_INVALID_PARAMS, &f);
	faults_fini(&f);
	return good;
}
