/* SPDX-License-Identifier: BSD-3-Clause */
/* The oracle for AS-path lists: plain PCRE2 runs every entry, in the order of the list, on the text of the path. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define PLAIN_ENTRIES_MAX 24
#define PLAIN_DELIMITER "(?:^|$|[ ,{}()\\[\\]])"

struct plain_list {
	unsigned count;
	struct {
		const char *regex;
		pcre2_code *code;
		bool permit;
	} entry[PLAIN_ENTRIES_MAX];
};

/*
 * Length of the bracket expression at `p`. An unterminated expression extends to the end of the
 * text.
 */
static inline size_t
plain_class_len(const char *p)
{
	size_t n = 1;

	n += p[n] == '^';
	n += p[n] == ']'; /* a literal at this position */
	while (p[n] && p[n] != ']') {
		if (p[n] == '\\' && p[n + 1]) {
			n += 2;
		} else if (p[n] == '[' && p[n + 1] == ':') {
			size_t name = n + 2 + (p[n + 2] == '^');

			name += strspn(p + name, "abcdefghijklmnopqrstuvwxyz");
			n = p[name] == ':' && p[name + 1] == ']' ? name + 2 : n + 1;
		} else {
			n++;
		}
	}
	return n + (p[n] == ']');
}

/* Returns NULL if PCRE2 rejects the expression. */
static inline pcre2_code *
plain_compile(const char *regex)
{
	char *pattern = malloc(strlen(regex) * (sizeof(PLAIN_DELIMITER) - 1) + 1), *o = pattern;
	pcre2_code *code;
	PCRE2_SIZE offset;
	int number;

	if (!pattern)
		abort();
	for (const char *p = regex; *p;) {
		size_t n = *p == '\\' && p[1] ? 2 : *p == '[' ? plain_class_len(p) : 1;

		if (*p == '_') {
			memcpy(o, PLAIN_DELIMITER, sizeof(PLAIN_DELIMITER) - 1);
			o += sizeof(PLAIN_DELIMITER) - 1;
		} else {
			memcpy(o, p, n);
			o += n;
		}
		p += n;
	}
	code = pcre2_compile((PCRE2_SPTR)pattern, (size_t)(o - pattern),
		PCRE2_NO_AUTO_CAPTURE | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C |
			PCRE2_NEVER_UTF,
		&number, &offset, NULL);
	free(pattern);
	return code;
}

/*
 * 1: the first matching entry permits; 0: the first matching entry denies, or no entry matches;
 * -EIO: PCRE2 fails (for example on `(?0)`).
 */
static inline int
plain_match(const struct plain_list *l, const char *text, pcre2_match_data *match,
	pcre2_match_context *limits)
{
	for (unsigned i = 0; i < l->count; i++) {
		int n = pcre2_match(
			l->entry[i].code, (PCRE2_SPTR)text, strlen(text), 0, 0, match, limits);

		if (n < 0 && n != PCRE2_ERROR_NOMATCH)
			return -EIO;
		if (n >= 0)
			return l->entry[i].permit;
	}
	return false;
}

static inline void
plain_free(struct plain_list *l)
{
	while (l->count > 0)
		pcre2_code_free(l->entry[--l->count].code);
}
