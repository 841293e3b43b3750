/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import bird: lines and tokens of a file and of the files that it includes; statements of a block.
 */
#include "control/cli/keelctl_import_bird.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define INCLUDES_MAX 8u /* files that include each other */

/* ---- tokens ---- */

static const struct bird_token end_token = {.kind = BIRD_END, .text = (char *)(size_t) ""};

void
bird_note(struct bird *b, unsigned line, const char *fmt, ...)
{
	char text[sizeof(b->line->verdict)];
	va_list ap;
	char *old;

	if (line == 0 || line > b->line_count)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	old = b->line[line].verdict;
	if (*old == '\0' || (*old == 'c' && *text == 'n'))
		snprintf(old, sizeof(b->line->verdict), "%s", text);
}

const struct bird_token *
bird_peek(const struct bird *b, unsigned ahead)
{
	return b->at + ahead < b->end ? &b->token[b->at + ahead] : &end_token;
}

bool
bird_is(const struct bird *b, const char *text)
{
	const struct bird_token *t = bird_peek(b, 0);

	return (t->kind == BIRD_SYMBOL || t->kind == BIRD_PUNCT) && is(t->text, text);
}

bool
bird_take(struct bird *b, const char *text)
{
	bool is_text = bird_is(b, text);

	b->at += is_text;
	return is_text;
}

void
bird_skip_brackets(struct bird *b)
{
	unsigned depth = 0;

	while (bird_peek(b, 0)->kind != BIRD_END) {
		const struct bird_token *t = bird_peek(b, 0);

		b->at++;
		if (t->kind != BIRD_PUNCT)
			continue;
		if (is(t->text, "(") || is(t->text, "[") || is(t->text, "[=") || is(t->text, "{"))
			depth++;
		else if (is(t->text, ")") || is(t->text, "]") || is(t->text, "=]") ||
			 is(t->text, "}"))
			depth -= depth > 0;
		if (depth == 0)
			return;
	}
}

struct bird_definition *
bird_find(struct bird *b, const char *name)
{
	for (struct bird_definition *d = b->definitions; d != NULL; d = d->next) {
		if (is(d->name, name))
			return d;
	}
	return NULL;
}

json_t *
bird_keep(struct bird *b, json_t *value)
{
	json_array_append_new(b->pool, value);
	return value;
}

static void
add_token(struct bird *b, enum bird_kind kind, unsigned line, const char *text, size_t n)
{
	static const size_t step = 1024;
	struct bird_token *t;

	if (b->token_count % step == 0) {
		t = realloc(b->token, (b->token_count + step) * sizeof(*t));
		if (t == NULL)
			abort();
		b->token = t;
	}
	t = &b->token[b->token_count++];
	*t = (struct bird_token){.kind = kind, .line = line, .text = strndup(text, n)};
	if (t->text == NULL)
		abort();
	/* a leading 0 makes no octal number */
	if (kind == BIRD_NUMBER) {
		t->number = (json_int_t)strtoull(t->text, NULL, (t->text[1] | 32) == 'x' ? 16 : 10);
		if (t->number < 0 || t->number > 4294967295ll)
			t->number = BIRD_NO_NUMBER;
	}
	if (t->number == BIRD_NO_NUMBER)
		bird_note(b, line, "not carried: %.40s is more than 4294967295", t->text);
	if (line > 0 && line <= b->line_count &&
		!(kind == BIRD_PUNCT && strchr("};", *text) != NULL))
		b->line[line].has_tokens = true;
}

/* The length of an address at the beginning of the text, or 0. */
static size_t
address_length(const char *s)
{
	char text[INET6_ADDRSTRLEN + 1];
	unsigned char a[16];
	size_t n = strspn(s, "0123456789abcdefABCDEF:.");

	if (memchr(s, ':', n) != NULL && n < sizeof(text)) {
		memcpy(text, s, n);
		text[n] = '\0';
		if (inet_pton(AF_INET6, text, a) == 1)
			return n;
	}
	n = strspn(s, "0123456789.");
	if (n < 7 || n >= sizeof(text))
		return 0;
	memcpy(text, s, n);
	text[n] = '\0';
	return inet_pton(AF_INET, text, a) == 1 ? n : 0;
}

/* Adds the token at the beginning of the text; returns its length. */
static size_t
token_at(struct bird *b, const char *s, unsigned line)
{
	static const char *const puncts[] = {
		"[=", "=]", "..", "&&", "||", "!=", "!~", "<=", ">=", "->"};
	size_t n = address_length(s);

	if (n > 0) {
		add_token(b, BIRD_ADDRESS, line, s, n);
		return n;
	}
	if (isdigit((unsigned char)*s)) {
		n = s[0] == '0' && (s[1] | 32) == 'x' ? 2 + strspn(s + 2, "0123456789abcdefABCDEF")
						      : strspn(s, "0123456789");
		add_token(b, BIRD_NUMBER, line, s, n);
		return n;
	}
	if (isalpha((unsigned char)*s) || *s == '_') {
		for (n = 1; isalnum((unsigned char)s[n]) || s[n] == '_'; n++)
			;
		add_token(b, BIRD_SYMBOL, line, s, n);
		return n;
	}
	if (*s == '"' || *s == '\'') {
		n = strcspn(s + 1, *s == '"' ? "\"\n" : "'\n");
		add_token(b, *s == '"' ? BIRD_TEXT : BIRD_SYMBOL, line, s + 1, n);
		return n + 1 + (s[n + 1] == *s);
	}
	for (unsigned i = 0; i < sizeof(puncts) / sizeof(puncts[0]); i++) {
		/* [=[ is no mask; =] ends one */
		if (strncmp(s, puncts[i], 2) == 0) {
			add_token(b, BIRD_PUNCT, line, s, 2);
			return 2;
		}
	}
	add_token(b, BIRD_PUNCT, line, s, 1);
	return 1;
}

/* Takes the begin, a character or the end of a comment. False: there is text. */
static bool
comment_take(const char **s, bool *comment)
{
	if (!*comment && strncmp(*s, "/*", 2) != 0)
		return false;
	if (*comment && strncmp(*s, "*/", 2) != 0) {
		++*s;
	} else {
		*comment = !*comment;
		*s += 2;
	}
	return true;
}

void
bird_tokens(struct bird *b)
{
	bool comment = false;

	for (unsigned line = 1; line <= b->line_count; line++) {
		for (const char *s = b->line[line].included ? "" : b->line[line].text;
			*s != '\0';) {
			if (comment_take(&s, &comment))
				continue;
			if (*s == '#') {
				break;
			} else if (isspace((unsigned char)*s)) {
				s++;
			} else {
				s += token_at(b, s, line);
			}
		}
	}
	/* the place of a statement that is missing at the end of the file */
	add_token(b, BIRD_END, 0, "", 0);
	b->end = b->token_count - 1;
}

/* True if a comment goes on behind the end of the line; `comment`: a comment goes on at its begin. */
static bool
comment_after(const char *s, bool comment)
{
	while (*s != '\0' && (comment || *s != '#')) {
		if (comment_take(&s, &comment))
			continue;
		if (*s == '"' || *s == '\'') {
			const char *end = strchr(s + 1, *s);

			s = end != NULL ? end + 1 : s + strlen(s);
		} else {
			s++;
		}
	}
	return comment;
}

static int read_file(struct bird *b, const char *path, unsigned depth);

/*
 * The lines of the files that an include names: a pattern, relative to the folder of its file. `line`: of
 * the include. False: the line is no include of a file that exists.
 */
static bool
include(struct bird *b, unsigned line, const char *text, const char *path, unsigned depth)
{
	const char *slash = strrchr(path, '/');
	char name[512], pattern[1024];
	glob_t found;
	int end = 0;

	if (sscanf(text, " include \"%511[^\"]\" ; %n", name, &end) != 1 || end == 0 ||
		(text[end] != '\0' && text[end] != '#') || depth >= INCLUDES_MAX)
		return false;
	if (*name == '/' || slash == NULL)
		snprintf(pattern, sizeof(pattern), "%s", name);
	else
		snprintf(pattern, sizeof(pattern), "%.*s%s", (int)(slash + 1 - path), path, name);
	if (glob(pattern, 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int err = read_file(b, found.gl_pathv[i], depth + 1);

		if (err == 0)
			continue;
		b->line[line].has_tokens = true;
		bird_note(b, line, "not carried: %s: %s", found.gl_pathv[i],
			err == -ENOTSUP ? "is not a regular file" : strerror(-err));
	}
	globfree(&found);
	return true;
}

void
bird_read_lines(struct bird *b, FILE *in, const char *path, unsigned depth)
{
	unsigned number = 0, line;
	bool comment = false;
	char *text = NULL;
	size_t size = 0;

	while (import_read_line(in, &text, &size)) {
		struct bird_line *more = realloc(b->line, (b->line_count + 2ul) * sizeof(*more)),
				 *l;

		if (more == NULL)
			abort();
		b->line = more;
		text[strcspn(text, "\r\n")] = '\0';
		if (number == 0 && strncmp(text, BYTE_ORDER_MARK, 3) == 0)
			memmove(text, text + 3, strlen(text + 3) + 1);
		l = &b->line[++b->line_count];
		*l = (struct bird_line){.text = strdup(text), .number = ++number};
		if (depth > 0 && asprintf(&l->place, "%s:%u", path, number) < 0)
			l->place = NULL;
		if (l->text == NULL)
			abort();
		line = b->line_count;
		/* lines that are read move the array */
		if (!comment && include(b, line, text, path, depth))
			b->line[line].included = true;
		comment = comment_after(text, comment);
	}
	free(text);
}

/* 0, -errno; -ENOTSUP: not a regular file. */
static int
read_file(struct bird *b, const char *path, unsigned depth)
{
	FILE *in = fopen(path, "re");
	struct stat st;
	int err = 0;

	if (in == NULL)
		return -errno;
	if (fstat(fileno(in), &st) != 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -ENOTSUP;
	if (err == 0) {
		bird_read_lines(b, in, path, depth);
		if (ferror(in))
			err = -EIO;
	}
	fclose(in);
	return err;
}

/* ---- statements of a block ---- */

/* Takes tokens up to the end of the statement: `;`, or a block. */
void
bird_skip(struct bird *b)
{
	while (bird_peek(b, 0)->kind != BIRD_END && !bird_is(b, "}")) {
		if (bird_take(b, ";"))
			return;
		if (bird_is(b, "{")) {
			bird_skip_brackets(b);
			bird_take(b, ";");
			return;
		}
		if (bird_is(b, "(") || bird_is(b, "[") || bird_is(b, "[="))
			bird_skip_brackets(b);
		else
			b->at++;
	}
}

/* The statement from the token `at` is not carried, or changed. Takes the statement. */
void
bird_whole(struct bird *b, unsigned at, const char *verdict)
{
	unsigned last;

	b->at = at;
	bird_skip(b);
	if (b->at == at) /* a stray bracket */
		b->at = at + 1;
	last = b->token[b->at - 1].line;
	for (unsigned l = b->token[at].line; l <= last && l <= b->line_count; l++)
		bird_note(b, l, "%s", verdict);
}

bool
bird_take_words(struct bird *b, const char *words)
{
	unsigned at = b->at;

	while (*words != '\0') {
		char word[32];
		size_t n = strcspn(words, " ");

		snprintf(word, sizeof(word), "%.*s", (int)n, words);
		if (!bird_take(b, word)) {
			b->at = at;
			return false;
		}
		words += n + (words[n] == ' ');
	}
	return true;
}

/* on, off, or nothing, which is on. */
bool
bird_take_switch(struct bird *b)
{
	if (bird_take(b, "off") || bird_take(b, "no"))
		return false;
	if (!bird_take(b, "on"))
		bird_take(b, "yes");
	return true;
}

/* The next token; for the name of a constant of one token, that token. */
static const struct bird_token *
value_peek(struct bird *b)
{
	const struct bird_token *t = bird_peek(b, 0);
	struct bird_definition *d;

	if (t->kind == BIRD_SYMBOL && (d = bird_find(b, t->text)) != NULL &&
		d->kind == BIRD_CONSTANT && d->value.end == d->value.at + 1) {
		d->used = true;
		t = &b->token[d->value.at];
	}
	return t;
}

/* A number, also by the name of a constant. */
bool
bird_take_number(struct bird *b, json_int_t *out)
{
	const struct bird_token *t = value_peek(b);

	if (t->kind != BIRD_NUMBER || t->number == BIRD_NO_NUMBER)
		return false;
	*out = t->number;
	b->at++;
	return true;
}

/* Takes a number from `low` to `high`, which keeld accepts. */
bool
bird_take_within(struct bird *b, json_int_t low, json_int_t high, json_int_t *out)
{
	return bird_take_number(b, out) && *out >= low && *out <= high;
}

bool
bird_take_address(struct bird *b, const char **out)
{
	const struct bird_token *t = value_peek(b);

	if (t->kind != BIRD_ADDRESS)
		return false;
	*out = t->text;
	b->at++;
	return true;
}

/* True if both prefixes have one address; `out` gets the second. */
static bool
same_prefix(char *out, const char *canonical, size_t size)
{
	char a[INET6_ADDRSTRLEN + 5], b[sizeof(a)];

	snprintf(a, sizeof(a), "%.*s", (int)strcspn(out, "/"), out);
	snprintf(b, sizeof(b), "%.*s", (int)strcspn(canonical, "/"), canonical);
	snprintf(out, size, "%s", canonical);
	return text_same_address(a, b);
}

bool
bird_take_prefix(struct bird *b, char *out, size_t size)
{
	const char *address;
	json_int_t length;
	char canonical[64];

	if (!bird_take_address(b, &address) || !bird_take(b, "/") ||
		!bird_take_number(b, &length) || length > (strchr(address, ':') != NULL ? 128 : 32))
		return false;
	snprintf(out, size, "%s/%d", address, (int)length);
	/* BIRD refuses bits behind the length */
	return import_prefix(out, canonical) && same_prefix(out, canonical, size);
}

bool
bird_set_id(struct bird *b, json_t *o, const char *key, const char *address)
{
	b->im->verdict[0] = '\0';
	import_set_id(b->im, o, key, address);
	return b->im->verdict[0] == '\0';
}

bool
bird_take_asn(struct bird *b, json_int_t *out)
{
	const struct bird_token *t = value_peek(b);

	return t->kind == BIRD_NUMBER && import_asn(t->text, out) && bird_take_number(b, out);
}

const char *
bird_policy_name(struct bird *b, const char *name, unsigned line, char buf[64])
{
	b->im->verdict[0] = '\0';
	import_name(b->im, name, buf);
	if (b->im->verdict[0] != '\0')
		bird_note(b, line, "%s", b->im->verdict);
	return buf;
}

bool
bird_no_route(struct bird *b)
{
	static const char *const words[] = {"connect delay time", "error wait time",
		"error forget time", "check link", "strict bind", "free bind",
		"graceful restart time", "advertise hostname", "keepalive scale time",
		"dynamic name", "dynamic name digits", "min hold time", "min keepalive time",
		"enforce stale", "setkey"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!bird_take_words(b, words[i]))
			continue;
		bird_note(b, b->token[b->at - 1].line, "changed: left out; no effect on routes");
		while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
			b->at++;
		return true;
	}
	if (!bird_take(b, "debug"))
		return false;
	while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
		b->at++;
	return true;
}
