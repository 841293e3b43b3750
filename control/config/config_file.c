/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FILE in and out. A reader of our own makes the values: it gives the exact place of a syntax error (jansson gives the end of
 * the word), the pointer of every duplicate key (jansson stops at the first duplicate), and bounds the depth. jansson reads strings with escapes, and
 * numbers with a point or an exponent.
 */
#include "control/config/config.h"
#include "control/config/config_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* keel.json(5): size and depth of the file. */
#define LEVELS_MAX 64
#define FILE_MAX ((size_t)64 << 20)

struct level {
	bool object;
	json_t *value; /* so far */
	const char *key; /* without a NUL at the end; in the text, or in `escaped` */
	size_t key_len;
	json_t *escaped; /* the present key, where the text has escapes; or NULL */
	size_t index;
};

struct scan {
	const char *begin, *p, *end;
	const char *where; /* of the fault */
	const char *fault; /* NULL: none */
	struct faults *f;
	bool escapes; /* in the last string */
	json_t *document;
	json_t *actions[2]; /* of entries of lists: the same two strings in all of them */
	unsigned depth;
	struct level level[LEVELS_MAX];
};

static bool
fail(struct scan *s, const char *where, const char *fault)
{
	s->where = where;
	s->fault = fault;
	return false;
}

static void
skip_blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

/* Puts a value where the scanner is. `value` is taken over; NULL: out of memory. */
static bool
add_value(struct scan *s, const char *start, json_t *value)
{
	struct level *l = s->depth > 0 ? &s->level[s->depth - 1] : NULL;
	int err = -1;

	if (value == NULL)
		return fail(s, start, "out of memory");
	if (l == NULL)
		s->document = value;
	else if (l->object)
		err = json_object_setn_new_nocheck(l->value, l->key, l->key_len, value);
	else
		err = json_array_append_new(l->value, value);
	return l == NULL || err == 0 || fail(s, start, "out of memory");
}

/* By jansson. */
static json_t *
decoded(const char *start, const char *end)
{
	return json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY, NULL);
}

/* Four hexadecimal digits after \u; -1 for a different text. */
static int
hex4(const char *p, const char *end)
{
	int v = 0;

	for (unsigned i = 0; i < 4; i++, p++) {
		static const char hex[] = "0123456789abcdef";
		const char *at = p < end && *p
					 ? strchr(hex, *p | (*p >= 'A' && *p <= 'F' ? 0x20 : 0))
					 : NULL;
		if (!at)
			return -1;
		v = v * 16 + (int)(at - hex);
	}
	return v;
}

/* At the `u` of an escape that begins at `start`. */
static bool
scan_unicode(struct scan *s, const char *start)
{
	int v = hex4(s->p + 1, s->end), low = -1;

	if (v < 0)
		return fail(s, start, "\\u needs four hexadecimal digits");
	if (v == 0)
		return fail(s, start, "\\u0000 is not allowed");
	s->p += 5;
	if ((v & 0xf800) != 0xd800)
		return true;
	/* RFC 8259 7: a pair, high before low */
	if (v < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u')
		low = hex4(s->p + 2, s->end);
	if ((low & ~0x3ff) != 0xdc00)
		return fail(s, start, "half of a surrogate pair");
	s->p += 6;
	return true;
}

static bool
scan_escape(struct scan *s)
{
	const char *start = s->p++;

	if (s->p == s->end)
		return fail(s, s->p, "the file ends inside a string");
	if (*s->p == 'u')
		return scan_unicode(s, start);
	if (!*s->p || !strchr("\"\\/bfnrt", *s->p))
		return fail(s, start, "unknown escape in a string");
	s->p++;
	return true;
}

/* One character of two bytes or more: RFC 3629 4. */
static bool
scan_utf8(struct scan *s)
{
	const unsigned char *p = (const unsigned char *)s->p;
	size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	bool ok = *p >= 0xc2 && *p <= 0xf4 && (size_t)(s->end - s->p) >= len;

	if (*p == 0xe0)
		low = 0xa0;
	else if (*p == 0xed)
		high = 0x9f;
	else if (*p == 0xf0)
		low = 0x90;
	else if (*p == 0xf4)
		high = 0x8f;
	ok = ok && p[1] >= low && p[1] <= high;
	for (size_t i = 2; ok && i < len; i++)
		ok = (p[i] & 0xc0) == 0x80;
	if (!ok)
		return fail(s, s->p, "this is not UTF-8");
	s->p += len;
	return true;
}

static bool
scan_string(struct scan *s)
{
	const char *start = s->p++;

	s->escapes = false;
	while (s->p < s->end && *s->p != '"') {
		if (*s->p == '\n')
			return fail(s, start, "the string does not end on its line");
		if ((unsigned char)*s->p < 0x20)
			return fail(s, s->p, "control character in a string");
		if (*s->p == '\\') {
			s->escapes = true;
			if (!scan_escape(s))
				return false;
		} else if ((unsigned char)*s->p >= 0x80) {
			if (!scan_utf8(s))
				return false;
		} else {
			s->p++;
		}
	}
	if (s->p == s->end)
		return fail(s, start, "the string does not end");
	s->p++;
	return true;
}

/* A document of 20 MB has 400,000 entries of lists with an action. */
static json_t *
action(struct scan *s, const char *text, size_t len)
{
	static const char *const words[] = {"permit", "deny"};
	const struct level *l = s->depth > 0 ? &s->level[s->depth - 1] : NULL;

	for (unsigned i = 0; i < 2 && l != NULL && l->object && l->key_len == 6; i++) {
		if (memcmp(l->key, "action", 6) != 0 || len != strlen(words[i]) ||
			memcmp(text, words[i], len) != 0)
			continue;
		if (s->actions[i] == NULL)
			s->actions[i] = json_string(words[i]);
		return json_incref(s->actions[i]);
	}
	return NULL;
}

static bool
scan_string_value(struct scan *s)
{
	const char *start = s->p;
	json_t *value;
	size_t len;

	if (!scan_string(s))
		return false;
	len = (size_t)(s->p - start) - 2;
	value = action(s, start + 1, len);
	if (value == NULL)
		value = s->escapes ? decoded(start, s->p) : json_stringn_nocheck(start + 1, len);
	return add_value(s, start, value);
}

static size_t
digits(struct scan *s)
{
	const char *start = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return (size_t)(s->p - start);
}

/* RFC 8259 6 */
static bool
scan_number(struct scan *s)
{
	const char *start = s->p;
	bool real = false;

	s->p += *s->p == '-';
	const char *integer = s->p;
	size_t n = digits(s);
	if (n == 0)
		return fail(s, start, "not a number");
	if (n > 1 && *integer == '0')
		return fail(s, start, "a number can't begin with 0");
	if (s->p < s->end && *s->p == '.') {
		real = true;
		s->p++;
		if (!digits(s))
			return fail(s, start, "a digit is missing behind the point of a number");
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		real = true;
		s->p++;
		s->p += s->p < s->end && (*s->p == '+' || *s->p == '-');
		if (!digits(s))
			return fail(s, start, "a digit is missing in the exponent of a number");
	}
	errno = 0;
	long long value = real ? 0 : strtoll(start, NULL, 10);
	if (real ? isinf(strtod(start, NULL)) : errno == ERANGE)
		return fail(s, start, "the number is too large");
	return add_value(s, start, real ? decoded(start, s->p) : json_integer(value));
}

static bool
scan_word(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};

	for (unsigned i = 0; i < 3; i++) {
		size_t len = strlen(words[i]);
		if ((size_t)(s->end - s->p) >= len && !memcmp(s->p, words[i], len)) {
			s->p += len;
			return add_value(s, s->p, i == 2 ? json_null() : json_boolean(i == 0));
		}
	}
	if (s->p == s->end)
		return fail(s, s->p, "the file ends where a value should be");
	if (*s->p == '/' || *s->p == '#')
		return fail(s, s->p, "JSON has no comments; each object takes a `description`");
	if ((*s->p == '}' || *s->p == ']') && s->depth)
		return fail(s, s->p,
			"a value is missing here; the last element has no comma behind it");
	return fail(s, s->p, "a value should be here");
}

/* The pointer of the present key. */
static void
note_duplicate(struct scan *s)
{
	struct at at[LEVELS_MAX + 1] = {AT_ROOT};
	char *keys[LEVELS_MAX] = {NULL};

	for (unsigned i = 0; i < s->depth; i++) {
		const struct level *l = &s->level[i];

		keys[i] = l->object ? strndup(l->key, l->key_len) : NULL;
		at[i + 1] = keys[i] != NULL ? AT_KEY(&at[i], keys[i]) : AT_INDEX(&at[i], l->index);
	}
	config_fault(&(struct check){.f = s->f}, &at[s->depth], "this key is given more than once");
	for (unsigned i = 0; i < s->depth; i++)
		free(keys[i]);
}

/* The key at s->p, its colon, and the blanks around. */
static bool
scan_key(struct scan *s)
{
	struct level *l = &s->level[s->depth - 1];
	const char *start = s->p;

	if (s->p == s->end)
		return fail(s, s->p, "the file ends inside an object");
	if (*s->p != '"')
		return fail(s, s->p,
			*s->p == '}' ? "a key is missing here; the last one has no comma behind it"
				     : "a key in quotes should be here");
	if (!scan_string(s))
		return false;
	/* Equal keys may be written differently: "a" is "\u0061". */
	json_decref(l->escaped);
	l->escaped = s->escapes ? decoded(start, s->p) : NULL;
	if (s->escapes && l->escaped == NULL)
		return fail(s, start, "out of memory");
	l->key = s->escapes ? json_string_value(l->escaped) : start + 1;
	l->key_len = s->escapes ? json_string_length(l->escaped) : (size_t)(s->p - start) - 2;
	if (json_object_getn(l->value, l->key, l->key_len))
		note_duplicate(s);
	skip_blanks(s);
	if (s->p == s->end || *s->p != ':')
		return fail(s, s->p, "a colon should be here");
	s->p++;
	skip_blanks(s);
	return true;
}

static void
leave(struct scan *s)
{
	json_decref(s->level[--s->depth].escaped);
}

/* At `{` or `[`. True: at the first value, or *empty. */
static bool
enter(struct scan *s, bool *empty)
{
	bool object = *s->p == '{';
	json_t *value;

	if (s->depth == LEVELS_MAX)
		return fail(s, s->p, "more than 64 levels");
	value = object ? json_object() : json_array();
	if (!add_value(s, s->p, value))
		return false;
	s->level[s->depth++] = (struct level){.object = object, .value = value};
	s->p++;
	skip_blanks(s);
	*empty = s->p < s->end && *s->p == (object ? '}' : ']');
	if (*empty) {
		s->p++;
		leave(s);
		return true;
	}
	return !object || scan_key(s);
}

/* After a value: closes objects and arrays that end here, and moves to the next value or the end (depth 0). */
static bool
scan_behind(struct scan *s)
{
	while (s->depth) {
		struct level *l = &s->level[s->depth - 1];
		skip_blanks(s);
		if (s->p == s->end)
			return fail(s, s->p,
				l->object ? "the file ends inside an object"
					  : "the file ends inside an array");
		if (*s->p == ',') {
			s->p++;
			skip_blanks(s);
			l->index++;
			return !l->object || scan_key(s);
		}
		if (*s->p != (l->object ? '}' : ']'))
			return fail(s, s->p,
				l->object ? "a comma or } should be here"
					  : "a comma or ] should be here");
		s->p++;
		leave(s);
	}
	return true;
}

static bool
scan_document(struct scan *s)
{
	bool ok, container;

	skip_blanks(s);
	do {
		bool empty = true;
		container = s->p < s->end && (*s->p == '{' || *s->p == '[');
		if (container)
			ok = enter(s, &empty);
		else if (s->p < s->end && *s->p == '"')
			ok = scan_string_value(s);
		else if (s->p < s->end && (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')))
			ok = scan_number(s);
		else
			ok = scan_word(s);
		if (ok && empty)
			ok = scan_behind(s);
		else if (ok)
			continue;
	} while (ok && s->depth);
	if (!ok)
		return false;
	skip_blanks(s);
	return s->p == s->end || fail(s, s->p, "there is more behind the end of the document");
}

/* ---- loading ---- */

static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *
format(const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return text;
}

/* Lines and columns from 1; a column is a byte. */
static char *
place_message(const char *file, const char *begin, const char *where, const char *text)
{
	unsigned line = 1;
	const char *line_begin = begin;

	for (const char *p = begin; p < where; p++)
		if (*p == '\n') {
			line++;
			line_begin = p + 1;
		}
	return format("%s:%u:%td: %s", file, line, where - line_begin + 1, text);
}

/* The whole file; NULL with errno. A pipe or /dev/stdin has no size beforehand. */
static char *
read_all(const char *file, size_t *len)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	struct stat st = {0};
	size_t size = 0, expected = 65536;
	ssize_t n = 1;

	*len = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size > expected && (size_t)st.st_size < FILE_MAX)
		expected = (size_t)st.st_size + 2;
	while (n > 0) {
		if (*len + 1 >= size) {
			size = size ? size * 2 : expected;
			char *grown = size <= 2 * FILE_MAX ? realloc(text, size) : NULL;
			if (!grown) {
				n = -1;
				errno = size > 2 * FILE_MAX ? EFBIG : ENOMEM;
				break;
			}
			text = grown;
		}
		n = read(fd, text + *len, size - 1 - *len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			*len += (size_t)n;
	}
	int err = errno;
	close(fd);
	if (n < 0) {
		free(text);
		errno = err;
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

static json_t *
load_text(const char *file, const char *text, size_t len, char **message, struct faults *f)
{
	struct scan s = {.begin = text, .p = text, .end = text + len, .f = f};
	unsigned faults = f->count + f->lost;

	bool ok = scan_document(&s);
	while (s.depth)
		leave(&s);
	json_decref(s.actions[0]);
	json_decref(s.actions[1]);
	if (!ok)
		*message = place_message(file, text, s.where, s.fault);
	if (ok && f->count + f->lost == faults)
		return s.document;
	json_decref(s.document);
	return NULL;
}

json_t *
config_load(const char *file, char **message, struct faults *f)
{
	struct stat st;

	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode)) {
		*message = format("%s: is not a regular file; keeld reads the configuration at the "
				  "start and replaces the file at each commit",
			file);
		return NULL;
	}
	return config_load_any(file, message, f);
}

json_t *
config_load_any(const char *file, char **message, struct faults *f)
{
	size_t len;
	char *text = read_all(file, &len);

	*message = NULL;
	if (!text) {
		*message = format("%s: %s", file, strerrordesc_np(errno));
		return NULL;
	}
	json_t *document = load_text(file, text, len, message, f);
	free(text);
	return document;
}

/* ---- saving ---- */

#define TEMPORARY ".tmp-" /* and six letters, by mkostemp() */

static int
write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* What a file holds, and whose it is. */
struct contents {
	const json_t *document; /* NULL: `text` */
	struct config_printer *printer; /* of the document; NULL: none */
	const char *text;
	size_t len;
	mode_t mode;
	const struct stat *owner; /* NULL: this process */
};

static int
write_contents(int fd, const struct contents *c)
{
	int err = c->document != NULL ? config_print(fd, c->document, c->printer)
				      : write_all(fd, c->text, c->len);

	if (!err && c->owner && (c->owner->st_uid != geteuid() || c->owner->st_gid != getegid()) &&
		fchown(fd, c->owner->st_uid, c->owner->st_gid))
		err = -errno;
	if (!err && fchmod(fd, c->mode))
		err = -errno;
	if (!err && fsync(fd))
		err = -errno;
	return err;
}

/* The rename itself must be on disk before a commit may say so. */
static int
sync_folder(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *folder = slash == file ? strdup("/")
		       : slash	     ? strndup(file, (size_t)(slash - file))
				     : strdup(".");
	int err = 0;

	if (!folder)
		return -ENOMEM;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(folder);
	return err;
}

/* `target` is no symbolic link. */
static int
replace_file(const char *target, const struct contents *c)
{
	char *temporary = format("%s" TEMPORARY "XXXXXX", target);
	int err = 0;

	if (!temporary)
		return -ENOMEM;
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(temporary);
		return err;
	}
	err = write_contents(fd, c);
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(temporary, target))
		err = -errno;
	if (err)
		unlink(temporary);
	else
		err = sync_folder(target);
	free(temporary);
	return err;
}

void
config_save_tidy(const char *file)
{
	char *target = realpath(file, NULL);
	char *name = target ? strrchr(target, '/') + 1 : NULL;
	struct dirent *e;
	DIR *d = NULL;

	if (name) {
		name[-1] = '\0';
		d = opendir(*target ? target : "/");
	}
	while (d && (e = readdir(d))) {
		size_t len = strlen(name);
		if (!strncmp(e->d_name, name, len) &&
			!strncmp(e->d_name + len, TEMPORARY, strlen(TEMPORARY)) &&
			strlen(e->d_name + len) == strlen(TEMPORARY) + 6)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
	free(target);
}

/* Where FILE is a symbolic link, the target is replaced and the link stays. */
static int
save(const char *file, const struct contents *c)
{
	char *target = realpath(file, NULL);
	int err;

	if (!target && errno != ENOENT)
		return -errno;
	err = replace_file(target ? target : file, c);
	if (err && c->printer)
		config_printer_forget(c->printer);
	free(target);
	return err;
}

int
config_save(const char *file, const json_t *document, struct config_printer *printer)
{
	return save(
		file, &(struct contents){.document = document, .printer = printer, .mode = 0600});
}

int
config_state_save(const char *file, const json_t *document)
{
	return replace_file(file, &(struct contents){.document = document, .mode = 0600});
}

int
config_state_save_text(const char *file, const char *text, size_t len)
{
	return replace_file(file, &(struct contents){.text = text, .len = len, .mode = 0600});
}

int
config_save_text(const char *file, const char *text, size_t len)
{
	struct stat st;
	bool present = stat(file, &st) == 0;

	return save(file, &(struct contents){.text = text,
				  .len = len,
				  .mode = present ? st.st_mode & 07777 : 0600,
				  .owner = present ? &st : NULL});
}
