/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_lex.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDE_DEPTH_MAX 16u
#define FILE_SIZE_MAX (64u << 20)

struct lexer {
	struct policy_tokens *t;
	unsigned file, depth;
	char *p, *end, *line_start;
	const char *begin;
	unsigned line;
};

static int lex_file(struct policy_tokens *t, const char *path, unsigned depth);

static __attribute__((format(printf, 3, 4))) int
lex_fault(struct lexer *l, const char *at, const char *format, ...)
{
	struct policy_tokens *t = l->t;
	va_list args;

	if (t->fault_path != NULL)
		return -EINVAL;
	if (asprintf(&t->fault_path, "%s:%u:%u", t->files[l->file].path, l->line,
		    (unsigned)(at - l->line_start) + 1) < 0)
		t->fault_path = NULL;
	va_start(args, format);
	if (vasprintf(&t->fault_reason, format, args) < 0)
		t->fault_reason = NULL;
	va_end(args);
	return t->fault_path != NULL && t->fault_reason != NULL ? -EINVAL : -ENOMEM;
}

static struct token *
token_add(struct lexer *l, enum token_kind kind, const char *at)
{
	struct policy_tokens *t = l->t;

	if (t->count == t->size) {
		unsigned size = t->size ? 2 * t->size : 256;
		struct token *grown = realloc(t->at, size * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		t->at = grown;
		t->size = size;
	}
	t->at[t->count] = (struct token){.kind = kind,
		.file = l->file,
		.line = l->line,
		.column = (unsigned)(at - l->line_start) + 1,
		.offset = (unsigned)(at - l->begin)};
	return &t->at[t->count++];
}

/* Blanks and comments: # and // to the end of the line, and between slashes and stars. */
static int
skip_blanks(struct lexer *l)
{
	while (l->p < l->end) {
		if (*l->p == '\n') {
			l->line++;
			l->line_start = ++l->p;
		} else if (isspace((unsigned char)*l->p)) {
			l->p++;
		} else if (*l->p == '#' || (*l->p == '/' && l->p[1] == '/')) {
			while (l->p < l->end && *l->p != '\n')
				l->p++;
		} else if (*l->p == '/' && l->p[1] == '*') {
			const char *begin = l->p;
			unsigned line = l->line;

			for (l->p += 2; l->p < l->end && !(*l->p == '*' && l->p[1] == '/'); l->p++)
				if (*l->p == '\n') {
					l->line++;
					l->line_start = l->p + 1;
				}
			if (l->p >= l->end) {
				l->line_start = line == l->line ? l->line_start : l->p;
				return lex_fault(l, line == l->line ? begin : l->p,
					"the comment of line %u has no end", line);
			}
			l->p += 2;
		} else {
			break;
		}
	}
	return 0;
}

/* An address or a prefix at l->p, of `len` characters. */
static int
lex_address(struct lexer *l, size_t len)
{
	char text[64], *slash;
	struct ip_addr addr;
	struct token *token;
	const char *at = l->p;
	size_t all = len;
	bool good;

	if (l->p[len] == '/')
		for (all++; l->p + all < l->end && isdigit((unsigned char)l->p[all]); all++)
			;
	snprintf(text, sizeof(text), "%.*s", (int)(all < 63 ? all : 63), l->p);
	slash = strchr(text, '/');
	token = token_add(l, slash != NULL ? TOKEN_PREFIX : TOKEN_ADDRESS, at);
	if (token == NULL)
		return -ENOMEM;
	l->p += all;
	if (slash != NULL) {
		good = prefix_parse(text, &token->prefix) == 0;
	} else {
		good = addr_parse(text, &addr) == 0;
		if (good)
			token->prefix = prefix_from_addr(&addr, (uint8_t)prefix_max_len(addr.afi));
	}
	if (!good)
		return lex_fault(l, at, "\"%s\" is not %s", text,
			slash != NULL ? "a prefix without bits beyond its length"
				      : "an IP address");
	return 0;
}

/* Number of characters of an address at l->p; 0: none is there. */
static size_t
address_len(const struct lexer *l)
{
	unsigned dots = 0, colons = 0;
	const char *p = l->p;

	for (; p < l->end && (isxdigit((unsigned char)*p) || *p == '.' || *p == ':'); p++) {
		if (*p == '.' && p + 1 < l->end && p[1] == '.')
			break;
		dots += *p == '.';
		colons += *p == ':';
	}
	if (colons >= 2 || (dots == 3 && isdigit((unsigned char)*l->p)))
		return (size_t)(p - l->p);
	return 0;
}

static int
lex_number(struct lexer *l)
{
	const char *at = l->p;
	uint64_t v = 0;
	struct token *token = token_add(l, TOKEN_NUMBER, at);

	if (token == NULL)
		return -ENOMEM;
	for (; l->p < l->end && isdigit((unsigned char)*l->p); l->p++) {
		v = v * 10 + (uint64_t)(*l->p - '0');
		if (v > UINT32_MAX)
			return lex_fault(l, at, "the number is greater than 4294967295");
	}
	token->number = (uint32_t)v;
	if (l->p < l->end && (isalpha((unsigned char)*l->p) || *l->p == '_'))
		return lex_fault(l, at, "a name begins with a letter");
	return 0;
}

static bool
in_name(const struct lexer *l)
{
	if (isalnum((unsigned char)*l->p) || *l->p == '_')
		return true;
	return (*l->p == '.' || *l->p == '-') && l->p + 1 < l->end &&
	       isalnum((unsigned char)l->p[1]);
}

/* A copy with a NUL at the end; freed with the file. */
static const char *
text_keep(struct lexer *l, const char *from, size_t len)
{
	struct policy_tokens *t = l->t;
	char *copy = strndup(from, len);

	if (copy == NULL)
		return NULL;
	if (t->file_count == t->file_size) {
		unsigned size = t->file_size ? 2 * t->file_size : 16;
		struct policy_file *grown = realloc(t->files, size * sizeof(*grown));

		if (grown == NULL) {
			free(copy);
			return NULL;
		}
		t->files = grown;
		t->file_size = size;
	}
	t->files[t->file_count++] = (struct policy_file){.text = copy};
	return copy;
}

static int
lex_name(struct lexer *l)
{
	const char *at = l->p;
	struct token *token = token_add(l, TOKEN_NAME, at);
	const char *text;

	while (l->p < l->end && in_name(l))
		l->p++;
	text = token != NULL ? text_keep(l, at, (size_t)(l->p - at)) : NULL;
	if (text == NULL)
		return -ENOMEM;
	token->text = text;
	return 0;
}

static int
lex_string(struct lexer *l)
{
	const char *at = l->p++;
	struct token *token = token_add(l, TOKEN_STRING, at);
	const char *text;

	while (l->p < l->end && *l->p != '"' && *l->p != '\n')
		l->p++;
	if (l->p == l->end || *l->p != '"')
		return lex_fault(l, at, "the string has no closing quote on its line");
	text = token != NULL ? text_keep(l, at + 1, (size_t)(l->p - at - 1)) : NULL;
	if (text == NULL)
		return -ENOMEM;
	token->text = text;
	l->p++;
	return 0;
}

static int
lex_sign(struct lexer *l)
{
	static const char pairs[][3] = {"==", "!=", "<=", ">=", "+=", "-=", "!~", "&&", "||", ".."};
	const char *at = l->p;
	struct token *token = token_add(l, TOKEN_SIGN, at);

	if (token == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (l->p + 1 < l->end && l->p[0] == pairs[i][0] && l->p[1] == pairs[i][1]) {
			token->number = (uint32_t)pairs[i][0] + 256 * (uint32_t)pairs[i][1];
			l->p += 2;
			return 0;
		}
	}
	if (memchr("{}[]();,=~<>!*+", *l->p, 15) == NULL) {
		if (isprint((unsigned char)*l->p))
			return lex_fault(l, at, "unexpected character '%c'", *l->p);
		return lex_fault(l, at, "unexpected octet 0x%02x", (unsigned char)*l->p);
	}
	token->number = (unsigned char)*l->p++;
	return 0;
}

/* `include "PATH";`: PATH is relative to the folder of this file. */
static int
lex_include(struct lexer *l)
{
	struct policy_tokens *t = l->t;
	const struct token *name = &t->at[t->count - 1];
	const char *here = t->files[l->file].path, *slash = strrchr(here, '/');
	char path[4096];
	unsigned at = t->count - 2;
	int err;

	if (name->text[0] == '/' || slash == NULL)
		snprintf(path, sizeof(path), "%s", name->text);
	else
		snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - here), here, name->text);
	err = skip_blanks(l);
	if (err == 0 && (l->p >= l->end || *l->p != ';'))
		err = lex_fault(l, l->p, "expected ';' after the name of the file");
	if (err != 0)
		return err;
	l->p++;
	t->count = at;
	if (l->depth >= INCLUDE_DEPTH_MAX)
		return lex_fault(
			l, l->p - 1, "more than %u files include each other", INCLUDE_DEPTH_MAX);
	for (unsigned i = 0; i < t->file_count; i++)
		if (t->files[i].path != NULL && strcmp(t->files[i].path, path) == 0)
			return 0; /* a file counts once */
	err = lex_file(t, path, l->depth + 1);
	if (err != 0 && err != -ENOMEM && t->fault_path == NULL)
		return lex_fault(l, l->p - 1, "%s: %s", path, strerror(-err));
	if (err == 0)
		t->count--; /* the end of the included file */
	return err;
}

static bool
is_include(const struct policy_tokens *t)
{
	const struct token *last = &t->at[t->count - 1];

	return t->count >= 2 && last->kind == TOKEN_STRING && last[-1].kind == TOKEN_NAME &&
	       last[-1].file == last->file && strcmp(last[-1].text, "include") == 0;
}

static int
lex_tokens(struct lexer *l)
{
	int err = skip_blanks(l);

	while (err == 0 && l->p < l->end) {
		size_t len = address_len(l);

		if (len > 0)
			err = lex_address(l, len);
		else if (isdigit((unsigned char)*l->p))
			err = lex_number(l);
		else if (isalpha((unsigned char)*l->p) || *l->p == '_')
			err = lex_name(l);
		else if (*l->p == '"')
			err = lex_string(l);
		else
			err = lex_sign(l);
		if (err == 0 && is_include(l->t))
			err = lex_include(l);
		if (err == 0)
			err = skip_blanks(l);
	}
	if (err == 0 && token_add(l, TOKEN_END, l->p) == NULL)
		err = -ENOMEM;
	return err;
}

static int
lex_text(struct policy_tokens *t, const char *path, char *text, size_t size, unsigned depth)
{
	struct lexer l = {.t = t,
		.depth = depth,
		.p = text,
		.end = text + size,
		.line_start = text,
		.begin = text,
		.line = 1};

	if (text_keep(&l, path, strlen(path)) == NULL) {
		free(text);
		return -ENOMEM;
	}
	l.file = t->file_count - 1;
	t->files[l.file] = (struct policy_file){t->files[l.file].text, text, size};
	return lex_tokens(&l);
}

int
policy_lex(struct policy_tokens *t, const char *path, char *text, size_t size)
{
	if (t->count > 0)
		t->count--;
	return lex_text(t, path, text, size, 0);
}

int
policy_file_read(const char *path, char **out, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	size_t used = 0;
	char *text;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else if (st.st_size > FILE_SIZE_MAX)
		err = -EFBIG;
	text = err == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (err == 0 && text == NULL)
		err = -ENOMEM;
	while (err == 0 && used < (size_t)st.st_size) {
		ssize_t n = read(fd, text + used, (size_t)st.st_size - used);

		if (n < 0)
			err = -errno;
		else if (n == 0)
			break;
		else
			used += (size_t)n;
	}
	close(fd);
	if (err != 0) {
		free(text);
		return err;
	}
	text[used] = '\0';
	*out = text;
	*size = used;
	return 0;
}

static int
lex_file(struct policy_tokens *t, const char *path, unsigned depth)
{
	const json_t *given = json_object_get(t->given, path);
	char *text = NULL;
	size_t size = json_string_length(given);
	int err = 0;

	if (given == NULL) {
		err = policy_file_read(path, &text, &size);
	} else {
		text = malloc(size + 1);
		if (text == NULL)
			return -ENOMEM;
		memcpy(text, json_string_value(given), size + 1);
	}
	return err != 0 ? err : lex_text(t, path, text, size, depth);
}

int
policy_lex_file(struct policy_tokens *t, const char *path)
{
	if (t->count > 0)
		t->count--;
	return lex_file(t, path, 0);
}

/* FNV-1a: the same in every process, unlike hash_bytes(). */
uint64_t
policy_text_hash(const char *text, size_t size)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
	return h;
}

void
policy_tokens_fini(struct policy_tokens *t)
{
	for (unsigned i = 0; i < t->file_count; i++) {
		free(t->files[i].path);
		free(t->files[i].text);
	}
	free(t->files);
	free(t->at);
	free(t->fault_path);
	free(t->fault_reason);
	*t = (struct policy_tokens){0};
}
