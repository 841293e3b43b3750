/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the tests of config and policy_compile: documents written with single quotes, and
 * checks of faults.
 */
#pragma once

#include "control/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* JSON with ' in place of ", readable in C. */
static inline json_t *
document_of(const char *text)
{
	char *copy = strdup(text);
	json_error_t error;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *document = json_loads(copy, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (!document)
		fail_msg("%s in %s", error.text, copy);
	free(copy);
	return document;
}

/* `a` with `merge` (RFC 7396) applied; takes ownership of both. */
static inline json_t *
merged_with(json_t *a, const char *merge)
{
	json_t *over = document_of(merge);
	json_t *merged = config_merge(a, over);

	assert_non_null(merged);
	json_decref(over);
	json_decref(a);
	return merged;
}

static inline void
print_faults(const struct faults *f)
{
	for (unsigned i = 0; i < f->count; i++)
		print_message("  %s: %s\n", f->fault[i].path, f->fault[i].reason);
}

/* The reason of the fault at `path`, or NULL. */
static inline const char *
fault_at(const struct faults *f, const char *path)
{
	for (unsigned i = 0; i < f->count; i++)
		if (!strcmp(f->fault[i].path, path))
			return f->fault[i].reason;
	return NULL;
}

static inline void
assert_fault(const struct faults *f, const char *path, const char *part)
{
	const char *reason = fault_at(f, path);

	if (!reason || !strstr(reason, part)) {
		print_faults(f);
		fail_msg(
			"wanted at %s: ...%s..., got: %s", path, part, reason ? reason : "nothing");
	}
}

/* splitmix64 */
static inline uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline uint32_t
random_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((random_next(state) >> 32) * n >> 32);
}
