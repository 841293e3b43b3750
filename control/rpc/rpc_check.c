/* SPDX-License-Identifier: BSD-3-Clause */
/* All faults of a request's parameters, by the table of methods: unknown, missing, of a wrong type, of a wrong value. Main only. */
#include "control/rpc/rpc_call.h"

#include "control/config/config.h"
#include "control/config/near.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PARAMS_MAX 100 /* named in an answer: a request may have millions */
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

struct rpc_type
rpc_type_of(const struct rpc_field *f)
{
	static const struct {
		const char *word;
		enum rpc_kind kind;
	} kinds[] = {{"string", RPC_STRING}, {"integer", RPC_INTEGER}, {"number", RPC_NUMBER},
		{"boolean", RPC_BOOLEAN}, {"object", RPC_OBJECT}, {"any", RPC_ANY},
		{"family", RPC_FAMILY}, {"address", RPC_ADDRESS}, {"prefix", RPC_PREFIX}};
	struct rpc_type t = {.kind = RPC_WORDS, .words = f->type, .len = strlen(f->type)};
	char *end;

	if (t.len > 5 && strcmp(f->type + t.len - 5, "|null") == 0) {
		t.null = true;
		t.len -= 5;
	}
	if (t.len > 2 && strncmp(f->type + t.len - 2, "[]", 2) == 0) {
		t.array = true;
		t.len -= 2;
	}
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (t.len == strlen(kinds[i].word) && memcmp(f->type, kinds[i].word, t.len) == 0)
			t.kind = kinds[i].kind;
	}
	if (strncmp(f->type, "integer=", 8) == 0) {
		t.kind = RPC_INTEGER;
		t.range = true;
		t.min = strtoll(f->type + 8, &end, 10);
		t.max = strtoll(end + 2, NULL, 10); /* after ".." */
	}
	return t;
}

char *
rpc_field_name(const struct rpc_field *f, char buf[RPC_NAME_MAX])
{
	snprintf(buf, RPC_NAME_MAX, "%.*s", (int)strcspn(f->name, "?"), f->name);
	return buf;
}

bool
rpc_field_optional(const struct rpc_field *f)
{
	return strchr(f->name, '?') != NULL;
}

/* "a, b, c" of a|b|c; true when `text` is one of them. */
static bool
word_among(const struct rpc_type *t, const char *text, char *list, size_t size)
{
	const char *p = t->words, *end = t->words + t->len;
	size_t at = 0;

	for (list[0] = '\0'; p < end;) {
		size_t len = strcspn(p, "|");

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
check_string(const struct rpc_type *t, const char *text, const char *path, struct faults *f)
{
	struct prefix prefix;
	struct ip_addr addr;
	char list[REASON_MAX];

	if (t->kind == RPC_STRING)
		return;
	if (t->kind == RPC_FAMILY) {
		if (family_from_text(text) == FAMILY_COUNT)
			faults_add(f, path,
				"\"%.64s\" is not an address family; expected ipv4-unicast, "
				"ipv6-unicast, vpnv4-unicast or vpnv6-unicast",
				text);
	} else if (t->kind == RPC_ADDRESS) {
		/* The interface of a zone may be absent now. */
		if (addr_parse(text, &addr) != 0 && strchr(text, '%') == NULL)
			faults_add(f, path, "\"%.64s\" is not an IP address", text);
	} else if (t->kind == RPC_PREFIX) {
		int err = prefix_parse(text, &prefix);

		if (err == -EDOM)
			faults_add(f, path, "\"%.64s\" has bits set beyond its length (host bits)",
				text);
		else if (err != 0)
			faults_add(f, path, "\"%.64s\" is not a prefix; expected ADDRESS/LENGTH",
				text);
	} else if (!word_among(t, text, list, sizeof(list))) {
		faults_add(f, path, "\"%.64s\" is not one of %s", text, list);
	}
}

/* The elements of an array are checked by the method. */
static void
check_value(const struct rpc_type *t, const json_t *v, const char *path, struct faults *f)
{
	if (t->null && json_is_null(v))
		return;
	if (t->array) {
		if (!json_is_array(v))
			faults_add(f, path, "is not an array");
		return;
	}
	switch (t->kind) {
	case RPC_ANY:
		return;
	case RPC_BOOLEAN:
		if (!json_is_boolean(v))
			faults_add(f, path, "is not true or false");
		return;
	case RPC_OBJECT:
		if (!json_is_object(v))
			faults_add(f, path, "is not an object");
		return;
	case RPC_NUMBER:
		if (!json_is_number(v))
			faults_add(f, path, "is not a number");
		return;
	case RPC_INTEGER:
		if (t->range && (!json_is_integer(v) || json_integer_value(v) < t->min ||
					json_integer_value(v) > t->max))
			faults_add(f, path, "is not an integer from %lld to %lld",
				(long long)t->min, (long long)t->max);
		else if (!json_is_integer(v))
			faults_add(f, path, "is not an integer");
		return;
	default:
		if (!json_is_string(v))
			faults_add(f, path, "is not a string");
		else
			check_string(t, json_string_value(v), path, f);
	}
}

static bool
field_in(const struct rpc_field *f, const char *key)
{
	char name[RPC_NAME_MAX];

	for (; f != NULL && f->name != NULL; f++) {
		if (strcmp(rpc_field_name(f, name), key) == 0)
			return true;
	}
	return false;
}

static void
check_unknown(const struct rpc_method *m, const char *key, struct faults *f)
{
	struct near near = near_begin(key);
	char path[128], name[RPC_NAME_MAX];

	pointer_of_key(key, path, sizeof(path));
	for (const struct rpc_field *p = m->params; p != NULL && p->name != NULL; p++)
		near_consider(&near, rpc_field_name(p, name));
	if (near.found[0] != '\0')
		faults_add(f, path, "%s has no parameter \"%.64s\"; did you mean \"%s\"?", m->name,
			key, near.found);
	else
		faults_add(f, path, "%s has no parameter \"%.64s\"", m->name, key);
}

static void
check_known(const struct rpc_field *p, const json_t *params, struct faults *f)
{
	char path[RPC_NAME_MAX + 1] = "/";
	const json_t *value = json_object_get(params, rpc_field_name(p, path + 1));
	struct rpc_type t = rpc_type_of(p);

	if (value != NULL)
		check_value(&t, value, path, f);
	else if (!rpc_field_optional(p))
		faults_add(f, path, "is missing");
}

bool
rpc_params_check(const struct rpc_method *m, json_t *params, struct rpc_call *call)
{
	struct faults f = {0};
	const char *key;
	json_t *value;
	bool good;

	json_object_foreach(params, key, value)
	{
		if (field_in(m->params, key))
			continue;
		check_unknown(m, key, &f);
		if (f.count == UNKNOWN_PARAMS_MAX)
			break;
	}
	for (const struct rpc_field *p = m->params; p != NULL && p->name != NULL; p++)
		check_known(p, params, &f);
	good = f.count == 0 && f.lost == 0;
	if (!good)
		rpc_fail_faults(call, RPC_INVALID_PARAMS, &f);
	faults_fini(&f);
	return good;
}
