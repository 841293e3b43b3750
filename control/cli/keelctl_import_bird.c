/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import bird: a configuration of BIRD 2: protocols, templates, channels, static routes, tables of ROAs.
 * Statements run over lines, so the file is split into tokens, and each line gets the strongest verdict
 * of its tokens. Filters: keelctl_import_bird_filter.c.
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
#define MULTIHOP_TTL 64 /* of `multihop` without a number */
#define STATIC_POLICY "bird-origin" /* static and connected routes have ORIGIN IGP in BIRD */
/* temporary keys of a family: a limit of BIRD, or false: off */
#define IMPORT_LIMIT "_import_limit"
#define RECEIVE_LIMIT "_receive_limit"

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
	if (line <= b->line_count && !(kind == BIRD_PUNCT && strchr("};", *text) != NULL))
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

static void
tokens(struct bird *b)
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
	b->end = b->token_count;
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

static void
read_lines(struct bird *b, FILE *in, const char *path, unsigned depth)
{
	unsigned number = 0, line;
	bool comment = false;
	char *text = NULL;
	size_t size = 0;

	while (getline(&text, &size, in) >= 0) {
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
		read_lines(b, in, path, depth);
		if (ferror(in))
			err = -EIO;
	}
	fclose(in);
	return err;
}

/* ---- statements of a block ---- */

/* Takes tokens up to the end of the statement: `;`, or a block. */
static void
skip(struct bird *b)
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
static void
whole(struct bird *b, unsigned at, const char *verdict)
{
	unsigned last;

	b->at = at;
	skip(b);
	if (b->at == at) /* a stray bracket */
		b->at = at + 1;
	last = b->token[b->at - 1].line;
	for (unsigned l = b->token[at].line; l <= last && l <= b->line_count; l++)
		bird_note(b, l, "%s", verdict);
}

static bool
take_words(struct bird *b, const char *words)
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
static bool
take_switch(struct bird *b)
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
static bool
take_number(struct bird *b, json_int_t *out)
{
	const struct bird_token *t = value_peek(b);

	if (t->kind != BIRD_NUMBER || t->number == BIRD_NO_NUMBER)
		return false;
	*out = t->number;
	b->at++;
	return true;
}

/* Takes a number from `low` to `high`, which keeld accepts. */
static bool
take_within(struct bird *b, json_int_t low, json_int_t high, json_int_t *out)
{
	return take_number(b, out) && *out >= low && *out <= high;
}

static bool
take_address(struct bird *b, const char **out)
{
	const struct bird_token *t = value_peek(b);

	if (t->kind != BIRD_ADDRESS)
		return false;
	*out = t->text;
	b->at++;
	return true;
}

static bool
take_prefix(struct bird *b, char *out, size_t size)
{
	const char *address;
	json_int_t length;

	if (!take_address(b, &address) || !bird_take(b, "/") || !take_number(b, &length) ||
		length > (strchr(address, ':') != NULL ? 128 : 32))
		return false;
	snprintf(out, size, "%s/%d", address, (int)length);
	return true;
}

/* ---- policies of a channel ---- */

static const char *
policy_name(struct bird *b, const char *name, unsigned line, char buf[64])
{
	b->im->verdict[0] = '\0';
	import_name(b->im, name, buf);
	if (b->im->verdict[0] != '\0')
		bird_note(b, line, "%s", b->im->verdict);
	return buf;
}

/* all | none | filter NAME | filter { } | where EXPRESSION. False: unknown. */
static bool
policy(struct bird *b, json_t *family, const char *key, const char *own_name)
{
	unsigned line = bird_peek(b, 0)->line;
	struct bird_definition *d;
	struct bird_range body;
	char buf[64];

	if (bird_take(b, "all"))
		return json_object_set_new(family, key, json_string("accept-all")) == 0;
	if (bird_take(b, "none"))
		return json_object_set_new(family, key, json_string("deny-all")) == 0;
	if (bird_take(b, "filter") && !bird_is(b, "{")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		if (d == NULL || d->kind != BIRD_FILTER)
			return false;
		b->at++;
		return json_object_set_new(
			       family, key, json_string(policy_name(b, d->name, line, buf))) == 0;
	}
	body.at = b->at;
	if (bird_is(b, "{")) {
		bird_skip_brackets(b);
	} else if (bird_take(b, "where")) {
		body.at = b->at;
		while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
			b->at++;
	} else {
		return false;
	}
	body.end = b->at;
	policy_name(b, own_name, line, buf);
	bird_filter(b, buf, (struct bird_range){0}, body,
		!is(b->token[body.at].text, "{") || b->token[body.at].kind != BIRD_PUNCT,
		is(key, "export_policy"));
	return json_object_set_new(family, key, json_string(buf)) == 0;
}

/* The limit of the channel is off: `key` overrides the limit of the template. */
static void
limit_off(json_t *family, const json_t *theirs, const char *key)
{
	json_object_del(family, key);
	if (json_object_get(theirs, key) != NULL)
		json_object_set_new(family, key,
			json_pack("{s:I, s:s}", "limit", (json_int_t)4294967295ll, "action",
				"warning"));
}

/* After `limit`: N [action A] | off. Stays under `key` until the end of the channel. */
static bool
limit(struct bird *b, json_t *family, const char *key)
{
	unsigned line = bird_peek(b, 0)->line;
	json_t *max;
	json_int_t n;

	if (bird_take(b, "off"))
		return json_object_set_new(family, key, json_false()) == 0;
	if (!take_within(b, 1, 4294967295ll, &n))
		return false;
	max = json_pack("{s:I, s:s, s:I}", "limit", n, "action", "shutdown", "_line",
		(json_int_t)line);
	json_object_set_new(family, key, max);
	if (!bird_take(b, "action"))
		return true;
	if (bird_take(b, "warn"))
		return json_object_set_new(max, "action", json_string("warning")) == 0;
	if (bird_take(b, "block"))
		return json_object_set_new(max, "action", json_string("discard")) == 0;
	if (bird_take(b, "restart")) {
		bird_note(b, line, "changed: the session is established again after 60 s");
		return json_object_set_new(max, "restart_s", json_integer(60)) == 0;
	}
	return bird_take(b, "disable");
}

/* A verdict on the line of a limit; on `line` for a limit of the template. */
static void
limit_note(struct bird *b, const json_t *own, const json_t *max, unsigned line, const char *verdict)
{
	bird_note(b, own != NULL ? (unsigned)number_of(max, "_line") : line, "%s", verdict);
}

/*
 * The import limit of BIRD counts accepted routes, the receive limit all routes; max_prefixes counts
 * the routes that are kept. `theirs`: the channel of the template, or NULL. `line`: of the channel.
 */
static void
choose_limit(struct bird *b, json_t *family, const json_t *theirs, unsigned line)
{
	const json_t *own_import = json_object_get(family, IMPORT_LIMIT),
		     *own_receive = json_object_get(family, RECEIVE_LIMIT);
	json_t *import = import_value_of(family, theirs, IMPORT_LIMIT),
	       *receive = import_value_of(family, theirs, RECEIVE_LIMIT), *chosen;
	bool keeps = json_is_true(import_value_of(family, theirs, "keep_all_routes"));

	if (own_import == NULL && own_receive == NULL &&
		json_object_get(family, "keep_all_routes") == NULL)
		return;
	if (json_is_object(receive) && !keeps)
		limit_note(b, own_receive, receive, line,
			"not carried: max_prefixes counts refused routes only with "
			"keep_all_routes");
	else if (json_is_object(receive) && json_is_object(import))
		limit_note(b, own_import, import, line,
			"not carried: max_prefixes is the receive limit");
	else if (json_is_object(import) && keeps)
		limit_note(b, own_import, import, line,
			"changed: max_prefixes counts refused routes too, because keeld keeps "
			"them");
	chosen = json_is_object(receive) && keeps ? receive : import;
	if (!json_is_object(chosen))
		limit_off(family, theirs, "max_prefixes");
	else if (!json_equal(chosen, json_object_get(theirs, "max_prefixes")))
		json_object_set_new(family, "max_prefixes", json_deep_copy(chosen));
}

/* After `export limit`: N [action {warn | disable}] | off. Without an action BIRD disables the protocol. */
static bool
export_limit(struct bird *b, json_t *family, const json_t *theirs)
{
	const char *action = "shutdown";
	json_int_t n;

	if (bird_take(b, "off")) {
		limit_off(family, theirs, "max_prefixes_out");
		return true;
	}
	if (!take_within(b, 1, 4294967295ll, &n))
		return false;
	if (bird_take(b, "action")) {
		if (bird_take(b, "warn"))
			action = "warning";
		else if (!bird_take(b, "disable"))
			return false;
	}
	return json_object_set_new(family, "max_prefixes_out",
		       json_pack("{s:I, s:s}", "limit", n, "action", action)) == 0;
}

static bool
channel_statement(
	struct bird *b, json_t *o, json_t *family, const json_t *theirs, const char *own_name)
{
	json_int_t n;
	char name[128];

	if (take_words(b, "import limit"))
		return limit(b, family, IMPORT_LIMIT);
	if (take_words(b, "receive limit"))
		return limit(b, family, RECEIVE_LIMIT);
	if (take_words(b, "export limit"))
		return export_limit(b, family, theirs);
	if (take_words(b, "import keep filtered") || take_words(b, "import table"))
		return json_object_set_new(
			       family, "keep_all_routes", json_boolean(take_switch(b))) == 0;
	if (take_words(b, "export table"))
		return take_switch(b), true;
	if (bird_take(b, "import") || bird_take(b, "export")) {
		bool in = is(b->token[b->at - 1].text, "import");

		snprintf(name, sizeof(name), "%s-%s", own_name, in ? "in" : "out");
		return policy(b, family, in ? "import_policy" : "export_policy", name);
	}
	if (take_words(b, "next hop self")) {
		bool external = bird_take(b, "ebgp"), on = external || take_switch(b);

		if (bird_is(b, ";")) {
			json_object_set_new(o, "_self", json_boolean(on));
			json_object_set_new(o, "_reflected", json_boolean(on && !external));
		}
		return bird_is(b, ";") &&
		       json_object_set_new(family, "next_hop_self", json_boolean(on)) == 0;
	}
	if (take_words(b, "next hop keep")) {
		bool on = take_switch(b);

		return bird_is(b, ";") &&
		       json_object_set_new(family, "next_hop_unchanged", json_boolean(on)) == 0;
	}
	if (bird_take(b, "table")) {
		if (bird_take(b, "master4") || bird_take(b, "master6"))
			return true;
		json_object_set_new(family, "_table", json_true());
		return false;
	}
	if (take_words(b, "add paths"))
		return !take_switch(b);
	if (take_words(b, "extended next hop")) {
		json_object_set_new(member_made(o, "capabilities", json_object()),
			"extended_next_hop", json_boolean(take_switch(b)));
		return true;
	}
	if (take_words(b, "rpki reload"))
		return take_switch(b);
	if (bird_take(b, "debug")) {
		while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
			b->at++;
		return true;
	}
	return bird_take(b, "preference") && take_number(b, &n) && n == 100;
}

/* After `{`: statements up to `}`. `theirs`: the channel of the template, or NULL. */
static void
channel(struct bird *b, json_t *o, json_t *family, const json_t *theirs, const char *own_name)
{
	unsigned line = b->token[b->at - 1].line;

	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;

		if (bird_take(b, ";"))
			continue;
		/* an inline filter ends without a semicolon */
		if (channel_statement(b, o, family, theirs, own_name) &&
			(bird_take(b, ";") || is(b->token[b->at - 1].text, "}")))
			continue;
		whole(b, at, "not carried: keel.json has no key of this meaning");
		/* an unknown policy lets no route pass */
		if ((is(b->token[at].text, "import") || is(b->token[at].text, "export")) &&
			at + 1 < b->end && !is(b->token[at + 1].text, "limit"))
			json_object_set_new(family,
				is(b->token[at].text, "import") ? "import_policy" : "export_policy",
				json_string("deny-all"));
	}
	choose_limit(b, family, theirs, line);
}

/* ---- protocol bgp, template bgp ---- */

static bool
set_switch(struct bird *b, json_t *o, const char *key)
{
	return json_object_set_new(o, key, json_boolean(take_switch(b))) == 0;
}

static bool
set_seconds(struct bird *b, json_t *o, const char *key, json_int_t low, json_int_t high)
{
	json_int_t n;

	return take_within(b, low, high, &n) &&
	       json_object_set_new(member_made(o, "timers", json_object()), key, json_integer(n)) ==
		       0;
}

static bool
local(struct bird *b, json_t *o)
{
	const char *address;
	json_int_t n;

	if (take_address(b, &address))
		json_object_set_new(o, "source", json_string(address));
	if (bird_take(b, "port") && !(take_number(b, &n) && n == 179))
		return false;
	if (bird_take(b, "as"))
		return take_within(b, 1, 4294967295ll, &n) &&
		       json_object_set_new(o, "_local", json_integer(n)) == 0;
	return bird_is(b, ";");
}

/* The AS number of the neighbour; NULL: the AS of this router. */
static void
set_asn(json_t *o, json_t *asn)
{
	json_object_set_new(o, "_internal", json_boolean(asn == NULL));
	json_object_del(o, "asn");
	if (asn != NULL)
		json_object_set_new(o, "asn", asn);
}

static bool
neighbor(struct bird *b, json_t *o)
{
	const char *address;
	json_int_t n;
	char text[64];

	if (bird_take(b, "range")) {
		if (!take_prefix(b, text, sizeof(text)))
			return false;
		json_object_set_new(o, "_range", json_string(text));
	} else if (take_address(b, &address)) {
		if (bird_take(b, "%")) {
			json_object_set_new(o, "_address",
				json_sprintf("%s%%%s", address, bird_peek(b, 0)->text));
			b->at++;
		} else {
			json_object_set_new(o, "_address", json_string(address));
		}
	}
	while (!bird_is(b, ";")) {
		if (bird_take(b, "port") && take_within(b, 1, 65535, &n))
			json_object_set_new(o, "port", json_integer(n));
		else if (bird_take(b, "as") && take_within(b, 1, 4294967295ll, &n))
			set_asn(o, json_integer(n));
		else if (bird_take(b, "internal"))
			set_asn(o, NULL);
		else
			return false;
	}
	return true;
}

static bool
role(struct bird *b, json_t *o)
{
	static const char *const roles[][2] = {{"peer", "peer"}, {"provider", "provider"},
		{"customer", "customer"}, {"rs_server", "rs-server"}, {"rs_client", "rs-client"}};

	for (unsigned i = 0; i < 5; i++) {
		if (bird_take(b, roles[i][0]))
			return json_object_set_new(o, "role", json_string(roles[i][1])) == 0;
	}
	return false;
}

static bool
set_text(struct bird *b, json_t *o, const char *key)
{
	const struct bird_token *t = bird_peek(b, 0);

	b->at++;
	return t->kind == BIRD_TEXT && json_object_set_new(o, key, json_string(t->text)) == 0;
}

static bool
password(struct bird *b, json_t *o)
{
	const struct bird_token *t = bird_peek(b, 0);

	b->at++;
	if (t->kind == BIRD_TEXT && strlen(t->text) > IMPORT_PASSWORD_MAX)
		bird_note(b, t->line, IMPORT_PASSWORD_LONG);
	else if (t->kind == BIRD_TEXT)
		json_object_set_new(o, "password", json_string(t->text));
	return t->kind == BIRD_TEXT;
}

/* Statements that are done with this value, because keeld does the same. */
static bool
same_as_ours(struct bird *b)
{
	static const struct {
		const char *words;
		bool value;
	} same[] = {{"interpret communities", true}, {"path metric", true}, {"igp metric", true},
		{"med metric", false}, {"prefer older", false}, {"bfd", false},
		{"allow bgp_local_pref", false}, {"deterministic med", true},
		{"capabilities", true}, {"enable as4", true}, {"confederation member", false},
		{"long lived graceful restart", false}, {"disable after error", false}};
	static const struct {
		const char *words;
		json_int_t value;
	} numbers[] = {{"default bgp_local_pref", 100}, {"default bgp_med", 0}};
	json_int_t n;

	for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (take_words(b, same[i].words))
			return take_switch(b) == same[i].value;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (take_words(b, numbers[i].words))
			return take_number(b, &n) && n == numbers[i].value;
	}
	return false;
}

/* Statements without an effect on routes. */
static bool
no_route(struct bird *b)
{
	static const char *const words[] = {"connect delay time", "error wait time",
		"error forget time", "check link", "strict bind", "free bind",
		"graceful restart time", "advertise hostname", "keepalive scale time",
		"dynamic name", "dynamic name digits", "min hold time", "min keepalive time",
		"enforce stale", "setkey"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!take_words(b, words[i]))
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

static bool
bgp_statement(struct bird *b, json_t *o)
{
	static const struct {
		const char *words, *key;
	} switches[] = {{"passive", "passive"}, {"disabled", "shutdown"}, {"ttl security", "gtsm"},
		{"rr client", "route_reflector_client"}, {"rs client", "route_server_client"},
		{"enforce first as", "enforce_first_as"}, {"require roles", "role_strict"}},
	  capabilities[] = {{"enable route refresh", "route_refresh"},
		  {"enable enhanced route refresh", "enhanced_route_refresh"},
		  {"enable extended messages", "extended_message"}};
	static const struct {
		const char *words, *key;
		json_int_t low, high;
	} seconds[] = {{"hold time", "hold_s", 0, 65535},
		{"startup hold time", "open_sent_hold_s", 1, 65535},
		{"keepalive time", "keepalive_s", 1, 21845},
		{"connect retry time", "connect_retry_s", 1, 65535}};
	const char *address;
	json_int_t n;

	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (take_words(b, switches[i].words))
			return set_switch(b, o, switches[i].key);
	}
	for (unsigned i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		if (take_words(b, capabilities[i].words))
			return set_switch(b, member_made(o, "capabilities", json_object()),
				capabilities[i].key);
	}
	for (unsigned i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		if (take_words(b, seconds[i].words))
			return set_seconds(b, o, seconds[i].key, seconds[i].low, seconds[i].high);
	}
	if (take_words(b, "local role"))
		return role(b, o);
	if (bird_take(b, "local"))
		return local(b, o);
	if (bird_take(b, "neighbor"))
		return neighbor(b, o);
	if (bird_take(b, "description"))
		return set_text(b, o, "description");
	if (bird_take(b, "password"))
		return password(b, o);
	if (bird_take(b, "interface"))
		return set_text(b, o, "_interface");
	if (bird_take(b, "vrf")) {
		if (bird_take(b, "default"))
			return true;
		json_object_set_new(o, "_vrf", json_true());
		return false;
	}
	if (take_words(b, "source address"))
		return take_address(b, &address) &&
		       json_object_set_new(o, "source", json_string(address)) == 0;
	if (bird_take(b, "multihop")) {
		if (bird_is(b, ";"))
			n = MULTIHOP_TTL;
		else if (!take_within(b, 1, 255, &n))
			return false;
		json_object_del(o, "_direct");
		return json_object_set_new(o, "multihop", json_integer(n)) == 0;
	}
	if (bird_take(b, "direct")) {
		json_object_del(o, "multihop");
		return json_object_set_new(o, "_direct", json_true()) == 0;
	}
	if (take_words(b, "rr cluster id"))
		return take_address(b, &address) &&
		       json_object_set_new(o, "_cluster", json_string(address)) == 0 &&
		       json_object_set_new(b->im->bgp, "cluster_id", json_string(address)) == 0;
	if (take_words(b, "router id"))
		return take_address(b, &address) &&
		       is(address,
			       json_string_value(json_object_get(
				       json_object_get(b->im->document, "router"), "router_id")));
	if (take_words(b, "allow local as")) {
		if (bird_is(b, ";"))
			n = 255;
		else if (!take_within(b, 0, 255, &n))
			return false;
		return json_object_set_new(o, "_allow", json_integer(n)) == 0;
	}
	if (take_words(b, "graceful restart") && !bird_is(b, "time")) {
		if (bird_take(b, "aware"))
			return true;
		if (take_switch(b))
			bird_note(b, b->token[b->at - 1].line,
				"changed: keeld is the helper; it restarts with forwarding state "
				"only with keelfwd");
		else
			json_object_set_new(member_made(o, "capabilities", json_object()),
				"graceful_restart", json_false());
		return true;
	}
	return no_route(b) || same_as_ours(b);
}

static const char *
channel_family(const struct bird *b, unsigned *words)
{
	const char *first = bird_peek(b, 0)->text, *second = bird_peek(b, 1)->text;

	*words = is(second, "{") || is(second, ";") ? 1 : 2;
	if (*words == 2 && !is(second, "unicast"))
		return NULL;
	return is(first, "ipv4") ? "ipv4-unicast" : is(first, "ipv6") ? "ipv6-unicast" : NULL;
}

/* After `{`. `inherited`: the object of the template, or NULL. */
static void
bgp_block(struct bird *b, json_t *o, const json_t *inherited, const char *name)
{
	char own[80];
	unsigned words;
	const json_t *theirs;

	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		const char *family = channel_family(b, &words);
		json_t *f;

		if (bird_take(b, ";"))
			continue;
		if (family != NULL) {
			b->at += words;
			f = member_made(
				member_made(o, "families", json_object()), family, json_object());
			snprintf(own, sizeof(own), "%s-%.4s", name, family);
			theirs = json_object_get(json_object_get(inherited, "families"), family);
			if (theirs == NULL) {
				/* the defaults of BIRD */
				json_object_set_new(f, "import_policy", json_string("accept-all"));
				json_object_set_new(f, "export_policy", json_string("deny-all"));
			}
			if (bird_take(b, "{"))
				channel(b, o, f, theirs, own);
			bird_take(b, ";");
			continue;
		}
		if (!bgp_statement(b, o) || !bird_take(b, ";"))
			whole(b, at, "not carried: keel.json has no key of this meaning");
	}
}

/* A member of all families. */
static void
all_families(json_t *o, const json_t *group, const char *key, json_t *value)
{
	const char *name;
	json_t *f;

	json_object_foreach(json_object_get(group, "families"), name, f)
		member_made(member_made(o, "families", json_object()), name, json_object());
	json_object_foreach(json_object_get(o, "families"), name, f) json_object_set(f, key, value);
	json_decref(value);
}

/* Routes of another table belong to no neighbour of this one, also where the template names the table. */
static void
other_tables(struct bird *b, json_t *o, const json_t *group, unsigned line)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"};

	for (unsigned i = 0; i < 2; i++) {
		json_t *f = json_object_get(json_object_get(o, "families"), names[i]);
		const json_t *theirs = json_object_get(json_object_get(group, "families"), names[i]);

		if (import_value_of(f, theirs, "_table") == NULL)
			continue;
		bird_note(b, line, "not carried: a channel of another table; no route passes");
		f = member_made(
			member_made(o, "families", json_object()), names[i], json_object());
		json_object_set_new(f, "import_policy", json_string("deny-all"));
		json_object_set_new(f, "export_policy", json_string("deny-all"));
	}
}

/*
 * The keys of a neighbour that depend on the AS numbers of both sides. False, with a verdict: the
 * neighbour is left out.
 */
static bool
finish_peer(struct bird *b, json_t *o, const json_t *group, unsigned line)
{
	json_t *router = json_object_get(b->im->document, "router"),
	       *v = import_value_of(o, group, "_local"), *asn;
	bool external;
	const char *name;
	json_t *f;

	if (v != NULL && json_object_get(router, "asn") == NULL)
		json_object_set(router, "asn", v);
	if (import_value_of(o, group, "_vrf") != NULL) {
		bird_note(b, line, "not carried: a neighbour of a VRF");
		return false;
	}
	if (v == NULL) {
		bird_note(b, line, "not carried: no local AS number; the neighbour is left out");
		return false;
	}
	if (!json_equal(v, json_object_get(router, "asn"))) {
		bird_note(b, line,
			"not carried: a local AS number other than %lld; the neighbour is left out",
			number_of(router, "asn"));
		return false;
	}
	if (json_is_true(import_value_of(o, group, "_internal")))
		json_object_set(o, "asn", json_object_get(router, "asn"));
	asn = import_value_of(o, group, "asn");
	external = asn != NULL && !json_equal(asn, json_object_get(router, "asn"));
	if (external && import_value_of(o, group, "enforce_first_as") == NULL)
		json_object_set_new(o, "enforce_first_as", json_false());
	if (import_value_of(o, group, "_allow") != NULL)
		all_families(
			o, group, "allow_as_in", json_incref(import_value_of(o, group, "_allow")));
	json_object_foreach(json_object_get(o, "families"), name, f)
	{
		const json_t *theirs = json_object_get(json_object_get(group, "families"), name);

		if (!external && json_is_true(import_value_of(f, theirs, "next_hop_unchanged")))
			json_object_set_new(f, "next_hop_unchanged", json_false());
	}
	other_tables(b, o, group, line);
	return true;
}

/* Without a direct protocol BIRD has no route to next hops on connected subnets. */
static void
connected(struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		if (!b->has_direct && json_object_get(o, "enforce_first_as") == NULL)
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: next hops on connected subnets can be reached");
	}
}

/* Next hops of third routers, and gateways of static routes. */
static void
next_hops(struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const json_t *group = import_group_of(b->im, o);
		const char *verdict = import_third_party(b->im, o, true);
		unsigned line = (unsigned)number_of(o, "_line");

		if (verdict != NULL)
			bird_note(b, line, "%s", verdict);
		/* `next hop self ebgp` */
		if (json_object_get(o, "enforce_first_as") == NULL &&
			json_is_true(import_value_of(o, group, "_self")) &&
			!json_is_true(import_value_of(o, group, "_reflected")) &&
			import_has_gateways(b->im))
			bird_note(b, line,
				"changed: static routes get the address of this router as next "
				"hop, not the gateway");
	}
}

static bool
has_clients(const struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		if (json_is_true(import_value_of(
			    o, import_group_of(b->im, o), "route_reflector_client")))
			return true;
	}
	return false;
}

/* A route reflector: with `next hop self` BIRD changes reflected routes as well, and each session can have a cluster id. */
static void
reflector(struct bird *b)
{
	const char *cluster = json_string_value(json_object_get(b->im->bgp, "cluster_id")), *own;
	json_t *o;
	size_t i;

	if (!has_clients(b))
		return;
	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const json_t *group = import_group_of(b->im, o);

		if (json_object_get(o, "enforce_first_as") != NULL)
			continue;
		own = json_string_value(import_value_of(o, group, "_cluster"));
		if (json_is_true(import_value_of(o, group, "_reflected")))
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: reflected routes keep their next hop");
		else if (cluster != NULL && !is(own, cluster))
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: the cluster id of all sessions is %s", cluster);
	}
}

/* Removes the keys of the translation. */
static void
strip(json_t *array)
{
	static const char *const keys[] = {"_local", "_address", "_range", "_internal", "_allow",
		"_interface", "_self", "_reflected", "_cluster", "_line", "_vrf", "_direct"};
	json_t *o;
	size_t i;

	json_array_foreach(array, i, o)
	{
		for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			json_object_del(o, keys[k]);
	}
}

/* Members of `from` that `to` lacks; families, timers and capabilities member by member. */
static void
merge_missing(json_t *to, const json_t *from)
{
	static const char *const deep[] = {
		"families", "ipv4-unicast", "ipv6-unicast", "timers", "capabilities"};
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(size_t)from, key, v)
	{
		json_t *have = json_object_get(to, key);

		if (have == NULL)
			json_object_set_new(to, key, json_deep_copy(v));
		for (unsigned i = 0; have != NULL && i < sizeof(deep) / sizeof(deep[0]); i++) {
			if (is(key, deep[i]))
				merge_missing(have, v);
		}
	}
}

/* One hop where the template has more: a key of a group cannot be taken back. True: `o` has all keys of `parent`. */
static bool
one_hop(struct bird *b, json_t *o, const json_t *parent, unsigned line)
{
	if (json_object_get(o, "_direct") == NULL || json_object_get(parent, "multihop") == NULL)
		return false;
	merge_missing(o, parent);
	json_object_del(o, "multihop");
	bird_note(b, line, "changed: the keys of the template are its own, but for multihop");
	return true;
}

/* keeld has no `gtsm` over several hops. */
static void
check_hops(struct bird *b, json_t *o, const json_t *parent, unsigned line)
{
	if (import_value_of(o, parent, "multihop") == NULL ||
		!json_is_true(import_value_of(o, parent, "gtsm")))
		return;
	bird_note(b, line, "not carried: TTL security over several hops");
	json_object_set_new(o, "gtsm", json_false());
}

/* True if a neighbour above has the address. */
static bool
has_address(const struct bird *b, const char *address)
{
	int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
	unsigned char mine[16] = {0}, theirs[16] = {0};
	bool binary = inet_pton(family, address, mine) == 1;
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const char *other = json_string_value(json_object_get(o, "address"));

		if (is(other, address) || (binary && inet_pton(family, other, theirs) == 1 &&
						  memcmp(mine, theirs, sizeof(mine)) == 0))
			return true;
	}
	return false;
}

/* A range of neighbours; `o`: its group. */
static void
listen_range(struct bird *b, json_t *o, const char *group, unsigned line)
{
	json_t *ranges = member_made(b->im->bgp, "listen_ranges", json_array());
	const char *range = json_string_value(json_object_get(o, "_range"));

	if (!finish_peer(b, o, NULL, line))
		return;
	if (import_named(ranges, "prefix", range) != NULL)
		bird_note(b, line, "not carried: the range %s occurs before", range);
	else
		json_array_append_new(
			ranges, json_pack("{s:s, s:s}", "prefix", range, "group", group));
}

/* A neighbour; takes `o`. `parent`: its group, or NULL. `name`: of the protocol, or NULL. */
static void
add_peer(struct bird *b, json_t *o, const json_t *parent, const char *name, unsigned line)
{
	const char *text = json_string_value(import_value_of(o, parent, "_address"));
	const json_t *link = import_value_of(o, parent, "_interface");

	if (text == NULL || (import_value_of(o, parent, "asn") == NULL &&
				    !json_is_true(import_value_of(o, parent, "_internal")))) {
		bird_note(b, line, "not carried: the neighbour has no address or no AS number");
		json_decref(o);
		return;
	}
	json_object_set_new(o, "address",
		link != NULL && strncasecmp(text, "fe80", 4) == 0 && strchr(text, '%') == NULL
			? json_sprintf("%s%%%s", text, json_string_value(link))
			: json_string(text));
	if (parent != NULL)
		json_object_set(o, "group", json_object_get(parent, "name"));
	if (json_object_get(o, "description") == NULL && name != NULL)
		json_object_set_new(o, "description", json_string(name));
	json_object_set_new(o, "_line", json_integer(line));
	text = json_string_value(json_object_get(o, "address"));
	if (finish_peer(b, o, parent, line)) {
		if (has_address(b, text))
			bird_note(b, line,
				"not carried: an earlier neighbour has the address %.64s; keeld "
				"has one session to an address",
				text);
		else
			json_array_append(member_made(b->im->bgp, "peers", json_array()), o);
	}
	json_decref(o);
}

/* After `bgp` of a protocol or a template. */
static void
bgp(struct bird *b, bool template, unsigned line)
{
	json_t *groups = member_made(b->im->bgp, "groups", json_array()), *o, *parent = NULL;
	const char *name = NULL;
	char own[64], text[32];

	if (!bird_is(b, "{") && !bird_is(b, "from")) {
		name = bird_peek(b, 0)->text;
		b->at++;
		policy_name(b, name, line, own);
	} else {
		snprintf(own, sizeof(own), "bgp%u", ++b->unnamed);
		snprintf(text, sizeof(text), "protocol %u without name", b->unnamed);
		import_unique(b->im, text, own);
	}
	if (bird_take(b, "from")) {
		char theirs[64];

		b->im->verdict[0] = '\0';
		parent = import_named(
			groups, "name", import_name(b->im, bird_peek(b, 0)->text, theirs));
		if (parent == NULL)
			bird_note(b, line, "not carried: there is no template \"%.32s\"",
				bird_peek(b, 0)->text);
		b->at++;
	}
	o = json_object();
	if (bird_take(b, "{"))
		bgp_block(b, o, parent, own);
	if (template || json_object_get(o, "_range") != NULL) {
		if (parent != NULL && !one_hop(b, o, parent, line))
			merge_missing(o, parent);
		check_hops(b, o, NULL, line);
		json_object_set_new(o, "name", json_string(own));
		json_array_append_new(groups, o);
		if (!template)
			listen_range(b, o, own, line);
		return;
	}
	if (one_hop(b, o, parent, line)) {
		json_object_del(o, "name");
		parent = NULL;
	}
	check_hops(b, o, parent, line);
	add_peer(b, o, parent, name, line);
}

/* ---- other protocols ---- */

/*
 * Originates the routes of a source, with the ORIGIN of BIRD. `families`: {FAMILY: {policy}} of the
 * routes; NULL: all families.
 */
static void
originate(struct bird *b, const char *source, json_t *families)
{
	json_t *policies = member_made(b->im->document, "route_policies", json_array()), *o;

	if (import_named(policies, "name", STATIC_POLICY) == NULL)
		json_array_append_new(policies,
			json_pack("{s:s, s:[{s:i, s:s, s:{s:s}}]}", "name", STATIC_POLICY, "nodes",
				"seq", 10, "action", "permit", "set", "origin", "igp"));
	policies = member_made(b->im->bgp, "redistribute", json_array());
	o = import_named(policies, "source", source);
	if (o == NULL) {
		o = json_pack("{s:s, s:s}", "source", source, "policy", STATIC_POLICY);
		json_array_append_new(policies, o);
	}
	if (families != NULL)
		json_object_update(member_made(o, "_families", json_object()), families);
}

/* After `route`. Appends to `routes`. */
static bool
static_route(struct bird *b, json_t *routes)
{
	json_t *made = json_array();
	unsigned line = bird_peek(b, 0)->line;
	const char *address;
	char text[64];
	bool good = take_prefix(b, text, sizeof(text));

	if (good && (bird_is(b, "blackhole") || bird_is(b, "unreachable") ||
			    bird_is(b, "prohibit") || bird_is(b, "reject"))) {
		if (!bird_take(b, "blackhole")) {
			b->at++;
			bird_note(b, line, "changed: packets are dropped without an answer");
		}
		json_array_append_new(
			made, json_pack("{s:s, s:b}", "prefix", text, "blackhole", true));
	} else {
		while (good && bird_take(b, "via")) {
			good = take_address(b, &address);
			if (good && bird_take(b, "%")) {
				json_array_append_new(
					made, json_pack("{s:s, s:o}", "prefix", text, "next_hop",
						      json_sprintf("%s%%%s", address,
							      bird_peek(b, 0)->text)));
				b->at++;
			} else if (good) {
				json_array_append_new(made, json_pack("{s:s, s:s}", "prefix", text,
								    "next_hop", address));
			}
		}
	}
	good = good && json_array_size(made) > 0 && bird_is(b, ";");
	if (good)
		json_array_extend(routes, made);
	json_decref(made);
	return good;
}

/* A channel without a policy: ipv4; ipv4 { import all; }. Adds its family, with the policy of the source. */
static bool
plain_channel(struct bird *b, json_t *families)
{
	const char *family = bird_is(b, "ipv4") ? "ipv4-unicast" : "ipv6-unicast";

	if (!bird_take(b, "ipv4") && !bird_take(b, "ipv6"))
		return false;
	json_object_set_new(families, family, json_pack("{s:s}", "policy", STATIC_POLICY));
	if (!bird_take(b, "{"))
		return bird_is(b, ";");
	while (!bird_take(b, "}")) {
		if (!(take_words(b, "import all;") || take_words(b, "export none") ||
			    take_words(b, "import all") || take_words(b, "table master4") ||
			    take_words(b, "table master6")) ||
			!bird_take(b, ";"))
			return false;
	}
	return true;
}

static void
static_protocol(struct bird *b, unsigned line)
{
	json_t *routes = json_array(), *families = json_object();
	bool off = false, filtered = false;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		bool channel = bird_is(b, "ipv4") || bird_is(b, "ipv6"), good = true;

		if (bird_take(b, "disabled"))
			off = take_switch(b);
		else if (bird_take(b, "route"))
			good = static_route(b, routes);
		else
			good = plain_channel(b, families) || no_route(b) ||
			       (bird_take(b, "description") && bird_peek(b, 0)->kind == BIRD_TEXT &&
				       ++b->at);
		if (bird_take(b, ";") || (good && is(b->token[b->at - 1].text, "}")))
			good = good || b->at == at + 1;
		else
			good = false;
		filtered = filtered || (channel && !good);
		if (!good)
			whole(b, at, "not carried: keel.json has no key of this meaning");
	}
	if (filtered)
		bird_note(b, line,
			"not carried: the channel has a filter or another table; the routes are "
			"left out");
	else if (off)
		bird_note(b, line, "changed: left out; the protocol is disabled");
	else if (json_array_size(routes) > 0) {
		json_array_extend(
			member_made(b->im->document, "static_routes", json_array()), routes);
		originate(b, "static", NULL);
	}
	json_decref(families);
	json_decref(routes);
}

static void
direct_protocol(struct bird *b)
{
	json_t *families = json_object();
	bool all = true, off = false;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;

		if (plain_channel(b, families)) {
			bird_take(b, ";");
		} else if (bird_take(b, "disabled")) {
			off = take_switch(b);
			bird_take(b, ";");
		} else if (!bird_take(b, ";")) {
			b->at = at;
			all = false;
			whole(b, at, "not carried: connected routes of named interfaces");
		}
	}
	off = off || json_object_size(families) == 0;
	if (all && !off)
		originate(b, "connected", families);
	b->has_direct = b->has_direct || !off;
	json_decref(families);
}

/* After roa4 or roa6: a channel without a filter. keeld has one table of ROAs. */
static bool
roa_channel(struct bird *b)
{
	unsigned line = b->token[b->at - 1].line;

	if (b->roa_tables[is(b->token[b->at - 1].text, "roa6")] > 1)
		bird_note(b, line, "not carried: " BIRD_ONE_ROA_TABLE);
	if (!bird_take(b, "{"))
		return true;
	while (!bird_take(b, "}")) {
		if (bird_take(b, "table"))
			b->at++;
		else if (!take_words(b, "import all") && !take_words(b, "export none"))
			return false;
		if (!bird_take(b, ";"))
			return false;
	}
	return true;
}

static void
rpki_protocol(struct bird *b, unsigned line)
{
	json_t *cache = json_object(),
	       *caches = member_made(
		       member_made(b->im->document, "rpki", json_object()), "caches", json_array());
	const char *address;
	json_int_t n;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		bool good = false;

		if (bird_take(b, ";"))
			continue;
		if (bird_take(b, "roa4") || bird_take(b, "roa6")) {
			good = roa_channel(b);
		} else if (bird_take(b, "remote")) {
			good = take_address(b, &address) ||
			       (bird_peek(b, 0)->kind == BIRD_TEXT &&
				       text_is_address(address = bird_peek(b, 0)->text) && ++b->at);
			if (good)
				json_object_set_new(cache, "address", json_string(address));
			if (good && bird_take(b, "port") && (good = take_within(b, 1, 65535, &n)))
				json_object_set_new(cache, "port", json_integer(n));
		} else if (bird_take(b, "port") && take_within(b, 1, 65535, &n)) {
			good = true;
			json_object_set_new(cache, "port", json_integer(n));
		} else if (take_words(b, "transport tcp")) {
			good = true;
		} else if (bird_take(b, "refresh") || bird_take(b, "retry") ||
			   bird_take(b, "expire")) {
			bird_note(
				b, b->token[at].line, "changed: the times of the cache are in use");
			while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			good = true;
		}
		if (!good || !bird_take(b, ";"))
			whole(b, at, "not carried: keel.json has no key of this meaning");
	}
	if (json_object_get(cache, "address") != NULL)
		json_array_append(caches, cache);
	else
		bird_note(b, line, "not carried: the cache has no address");
	json_decref(cache);
}

/* A kernel protocol: keeld writes no kernel routes. */
static void
kernel_protocol(struct bird *b, unsigned at)
{
	unsigned end;
	json_int_t n;

	b->at = at;
	skip(b);
	end = b->at;
	for (b->at = at; b->at < end; b->at++) {
		if (bird_is(b, "learn"))
			bird_note(b, bird_peek(b, 0)->line,
				"not carried: routes of the kernel are not learned");
		if (take_words(b, "merge paths")) {
			if (!take_switch(b))
				continue;
			n = IMPORT_PATHS_MAX;
			if (bird_take(b, "limit") && take_number(b, &n) && n > IMPORT_PATHS_MAX) {
				n = IMPORT_PATHS_MAX;
				bird_note(b, bird_peek(b, 0)->line,
					"changed: max_paths is 15, the largest value");
			}
			if (n > 0)
				json_object_set_new(b->im->bgp, "max_paths", json_integer(n));
		}
	}
	/* last: a verdict of one line is more than the verdict of the block */
	whole(b, at, "changed: workers forward, and the table of the kernel stays as it is");
}

static void
protocol(struct bird *b, unsigned at)
{
	const char *type = bird_peek(b, 0)->text;
	unsigned line = b->token[at].line;

	b->at++;
	if (is(type, "bgp")) {
		bgp(b, false, line);
		return;
	}
	if (is(type, "kernel")) {
		kernel_protocol(b, at);
		return;
	}
	if (is(type, "device")) {
		b->at = at;
		skip(b);
		return;
	}
	if (is(type, "static") || is(type, "direct") || is(type, "rpki")) {
		if (!bird_is(b, "{"))
			b->at++;
		if (bird_is(b, "{")) {
			if (is(type, "static"))
				static_protocol(b, line);
			else if (is(type, "direct"))
				direct_protocol(b);
			else
				rpki_protocol(b, line);
			return;
		}
	}
	whole(b, at, "not carried: keeld has no protocol of this kind");
}

/* ---- the top of the file ---- */

static void
define(struct bird *b, const char *name, int kind, struct bird_range parameters,
	struct bird_range header, struct bird_range value)
{
	struct bird_definition *d = calloc(1, sizeof(*d)), **last = &b->definitions;

	if (d == NULL)
		abort();
	d->name = name;
	d->kind = kind;
	d->parameters = parameters;
	d->header = header;
	d->value = value;
	while (*last != NULL)
		last = &(*last)->next;
	*last = d;
}

/* Finds constants, functions, filters, tables of ROAs and static protocols. */
static void
definitions(struct bird *b)
{
	while (bird_peek(b, 0)->kind != BIRD_END) {
		struct bird_range none = {0}, parameters = {0}, header, value;
		const char *word = bird_peek(b, 0)->text, *name = bird_peek(b, 1)->text;
		unsigned at = b->at;

		if (is(word, "define") && is(bird_peek(b, 2)->text, "=")) {
			value.at = at + 3;
			while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			value.end = b->at;
			define(b, name, BIRD_CONSTANT, none, none, value);
		} else if (is(word, "roa4") || is(word, "roa6")) {
			if (is(name, "table")) {
				define(b, bird_peek(b, 2)->text,
					is(word, "roa4") ? BIRD_ROA4 : BIRD_ROA6, none, none, none);
				b->roa_tables[is(word, "roa6")]++;
			}
		} else if (is(word, "protocol") && is(name, "static")) {
			b->static_count++;
			b->originates = true;
			define(b, bird_peek(b, 2)->text, BIRD_STATIC, none, none, none);
		} else if (is(word, "protocol") && is(name, "direct")) {
			b->originates = true;
		} else if (is(word, "function") || is(word, "filter")) {
			b->at += 2;
			if (is(word, "function") && bird_is(b, "(")) {
				parameters.at = b->at + 1;
				bird_skip_brackets(b);
				parameters.end = b->at - 1;
			}
			header.at = b->at;
			while (!bird_is(b, "{") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			header.end = value.at = b->at;
			bird_skip_brackets(b);
			value.end = b->at;
			define(b, name, is(word, "filter") ? BIRD_FILTER : BIRD_FUNCTION,
				parameters, header, value);
			continue;
		}
		skip(b);
		if (b->at == at)
			b->at++;
	}
	b->at = 0;
	for (unsigned i = 2; i < b->token_count; i++) {
		struct bird_definition *d;

		if (is(b->token[i - 1].text, "filter") && is(b->token[i - 2].text, "export") &&
			(d = bird_find(b, b->token[i].text)) != NULL)
			d->exports = true;
	}
}

static bool
top_statement(struct bird *b, unsigned at)
{
	static const char *const idle[] = {"log", "debug", "mrtdump", "timeformat", "watchdog",
		"hostname", "threads", "define"};
	const char *word = bird_peek(b, 0)->text, *address;
	struct bird_definition *d;
	char name[64];

	for (unsigned i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (is(word, idle[i]))
			return skip(b), true;
	}
	if (take_words(b, "router id"))
		return take_address(b, &address) && bird_take(b, ";") &&
		       json_object_set_new(json_object_get(b->im->document, "router"), "router_id",
			       json_string(address)) == 0;
	b->at++;
	if (is(word, "protocol"))
		return protocol(b, at), true;
	if (is(word, "template") && bird_take(b, "bgp"))
		return bgp(b, true, b->token[at].line), true;
	if (is(word, "filter")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		/* a name that was defined before */
		if (d == NULL || d->kind != BIRD_FILTER || d->value.at < b->at)
			return false;
		policy_name(b, d->name, b->token[at].line, name);
		bird_filter(b, name, d->header, d->value, false, d->exports);
		b->at = d->value.end;
		return true;
	}
	if (is(word, "function")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		if (d == NULL || d->kind != BIRD_FUNCTION || d->value.at < b->at)
			return false;
		b->at = d->value.end;
		return true;
	}
	if ((is(word, "roa4") || is(word, "roa6")) && bird_take(b, "table"))
		return ++b->at, bird_take(b, ";");
	return (is(word, "ipv4") || is(word, "ipv6")) && bird_take(b, "table") &&
	       (bird_take(b, "master4") || bird_take(b, "master6")) &&
	       (bird_take(b, "sorted") || true) && bird_take(b, ";");
}

/* Functions are translated where filters call them. */
static void
unused(struct bird *b)
{
	for (struct bird_definition *d = b->definitions; d != NULL; d = d->next) {
		if (d->kind != BIRD_FUNCTION || d->used || d->value.end <= d->value.at)
			continue;
		for (unsigned l = b->token[d->value.at].line; l <= b->token[d->value.end - 1].line;
			l++)
			bird_note(b, l, "changed: left out; no filter calls the function");
	}
}

void
import_bird(struct import *im, FILE *in)
{
	struct bird b = {.im = im, .pool = json_array()};

	b.line = calloc(1, sizeof(*b.line));
	if (b.line == NULL)
		abort();
	read_lines(&b, in, im->path, 0);
	tokens(&b);
	definitions(&b);
	while (bird_peek(&b, 0)->kind != BIRD_END) {
		unsigned at = b.at;

		if (bird_take(&b, ";"))
			continue;
		if (!top_statement(&b, at) || b.at == at)
			whole(&b, at, "not carried: keel.json has no key of this meaning");
	}
	unused(&b);
	next_hops(&b);
	reflector(&b);
	connected(&b);
	strip(json_object_get(im->bgp, "peers"));
	strip(json_object_get(im->bgp, "groups"));
	for (unsigned l = 1; l <= b.line_count; l++) {
		if (b.line[l].has_tokens)
			import_report_at(im, b.line[l].place, b.line[l].number, b.line[l].text,
				b.line[l].verdict);
		if (b.line[l].place == NULL)
			im->line = b.line[l].number;
		free(b.line[l].text);
		free(b.line[l].place);
	}
	for (unsigned i = 0; i < b.token_count; i++)
		free(b.token[i].text);
	while (b.definitions != NULL) {
		struct bird_definition *d = b.definitions;

		b.definitions = d->next;
		free(d);
	}
	free(b.token);
	free(b.line);
	json_decref(b.pool);
}
