/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A document as text, into a file. jansson decodes each character, and notes each container in a hash
 * table, and takes several times as long.
 *
 * A printer keeps the texts of long lists, so an edit costs the texts of the changed lists. Documents share
 * equal values: the address of a list in memory identifies the text.
 */
#include "control/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDENT 2
#define LINE_MAX_OCTETS 160u /* of an element on one line, before escapes */
#define BUFFER_OCTETS 65536u
#define KEPT_MIN_OCTETS 4096u
#define KEPT_AHEAD 8u /* elements that may be gone since the document before */

struct kept {
	const json_t *value; /* of the last document */
	char *text;
	size_t len;
};

struct config_printer {
	struct kept *kept; /* in the order of the last document */
	size_t count, size;
};

struct out {
	int fd; /* -1: `at` grows */
	int err;
	char *at;
	size_t len, size;
	struct config_printer *printer; /* NULL: none */
	size_t passed; /* of printer->kept */
	struct config_printer next; /* of this document */
};

static void
write_octets(struct out *o, const char *p, size_t len)
{
	while (len > 0 && o->err == 0) {
		ssize_t n = write(o->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			o->err = -errno;
		if (n < 0)
			break;
		p += n;
		len -= (size_t)n;
	}
}

/* Room for `len` octets. False: a fault. */
static bool
reserve(struct out *o, size_t len)
{
	size_t size;
	char *grown;

	if (o->fd >= 0) {
		write_octets(o, o->at, o->len);
		o->len = 0;
	}
	size = len > o->size - o->len ? 2 * o->size + len : o->size;
	grown = size > o->size && o->err == 0 ? realloc(o->at, size) : o->at;
	if (grown == NULL)
		o->err = -ENOMEM;
	if (o->err != 0)
		return false;
	o->at = grown;
	o->size = size;
	return true;
}

static inline void
put(struct out *o, const char *text, size_t len)
{
	if (len > o->size - o->len && !reserve(o, len))
		return;
	memcpy(o->at + o->len, text, len);
	o->len += len;
}

static inline void
put_text(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

/* A new line, and the blanks of a depth. */
static void
put_line(struct out *o, unsigned depth)
{
	put(o, "\n", 1);
	for (unsigned i = 0; i < depth; i++)
		put(o, "  ", INDENT);
}

/* RFC 8259 7; the texts of documents are UTF-8. */
static void
put_string(struct out *o, const char *text, size_t len)
{
	static const char letters[32] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	const char *end = text + len, *run = text;
	char escape[8];

	put(o, "\"", 1);
	for (; text < end; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		put(o, run, (size_t)(text - run));
		run = text + 1;
		if (c >= 0x20)
			snprintf(escape, sizeof(escape), "\\%c", c);
		else if (letters[c] != '\0')
			snprintf(escape, sizeof(escape), "\\%c", letters[c]);
		else
			snprintf(escape, sizeof(escape), "\\u%04X", c);
		put_text(o, escape);
	}
	put(o, run, (size_t)(end - run));
	put(o, "\"", 1);
}

static void
put_scalar(struct out *o, const json_t *value)
{
	char number[64];
	size_t len;

	switch (json_typeof(value)) {
	case JSON_STRING:
		put_string(o, json_string_value(value), json_string_length(value));
		return;
	case JSON_TRUE:
	case JSON_FALSE:
		put_text(o, json_is_true(value) ? "true" : "false");
		return;
	case JSON_NULL:
		put_text(o, "null");
		return;
	default:
		len = json_dumpb(value, number, sizeof(number), JSON_ENCODE_ANY);
		put(o, number, len <= sizeof(number) ? len : 0);
	}
}

static bool
is_container(const json_t *value)
{
	return json_is_object(value) || json_is_array(value);
}

/*
 * The element of an array on one line: an object of scalars with at most LINE_MAX_OCTETS. False: a longer
 * or another value, nothing is written.
 */
static bool
put_element(struct out *o, const json_t *value)
{
	json_t *object = (json_t *)(uintptr_t)value;
	void *i = json_object_iter(object);
	size_t begin, left = LINE_MAX_OCTETS;

	if (i == NULL)
		return false;
	if (o->size - o->len < 8 * LINE_MAX_OCTETS && !reserve(o, 8 * LINE_MAX_OCTETS))
		return false;
	begin = o->len;
	for (; i != NULL; i = json_object_iter_next(object, i)) {
		const json_t *member = json_object_iter_value(i);
		size_t key_len = json_object_iter_key_len(i);
		size_t len = key_len + json_string_length(member) + 8;

		if (is_container(member) || len > left) {
			o->len = begin;
			return false;
		}
		left -= len;
		put(o, o->len == begin ? "{" : ", ", o->len == begin ? 1 : 2);
		put_string(o, json_object_iter_key(i), key_len);
		put(o, ": ", 2);
		put_scalar(o, member);
	}
	put(o, "}", 1);
	return true;
}

static void put_value(struct out *o, const json_t *value, unsigned depth);

/* Recursion goes as deep as a document, at most 64 levels. */
static void
put_object(struct out *o, json_t *object, unsigned depth) /* NOLINT(misc-no-recursion) */
{
	void *i = json_object_iter(object);
	bool first = true;

	put(o, "{", 1);
	for (; i != NULL; i = json_object_iter_next(object, i)) {
		put(o, ",", !first);
		put_line(o, depth + 1);
		first = false;
		put_string(o, json_object_iter_key(i), json_object_iter_key_len(i));
		put(o, ": ", 2);
		put_value(o, json_object_iter_value(i), depth + 1);
	}
	if (!first)
		put_line(o, depth);
	put(o, "}", 1);
}

static void
keep(struct config_printer *p, const struct kept *one)
{
	if (p->count == p->size) {
		size_t size = 2 * p->size + 16;
		struct kept *grown = realloc(p->kept, size * sizeof(*grown));

		if (grown == NULL) {
			free(one->text);
			return;
		}
		p->kept = grown;
		p->size = size;
	}
	p->kept[p->count++] = *one;
}

/* An element of a section: the text of the last document, or a new text for the next document. */
static void
put_kept(struct out *o, const json_t *value, unsigned depth) /* NOLINT(misc-no-recursion) */
{
	struct config_printer *p = o->printer;
	struct out text = {.fd = -1};
	struct kept one = {NULL, NULL, 0};

	for (size_t i = o->passed; i < o->passed + KEPT_AHEAD && i < p->count; i++) {
		if (p->kept[i].value != value)
			continue;
		one = p->kept[i];
		p->kept[i] = (struct kept){NULL, NULL, 0};
		o->passed = i + 1;
		break;
	}
	if (one.value == NULL) {
		put_value(&text, value, depth);
		one.text = text.err == 0 ? realloc(text.at, text.len) : NULL;
		if (one.text == NULL) {
			free(text.at);
			o->err = o->err != 0 ? o->err : -ENOMEM;
			return;
		}
		one.value = value;
		one.len = text.len;
	}
	if (one.len < KEPT_MIN_OCTETS) {
		put(o, one.text, one.len);
		free(one.text);
		return;
	}
	if (reserve(o, 0))
		write_octets(o, one.text, one.len);
	keep(&o->next, &one);
}

static void
put_value(struct out *o, const json_t *value, unsigned depth) /* NOLINT(misc-no-recursion) */
{
	size_t count = json_array_size(value);

	if (!is_container(value)) {
		put_scalar(o, value);
		return;
	}
	if (json_is_object(value)) {
		put_object(o, (json_t *)(uintptr_t)value, depth);
		return;
	}
	put(o, "[", 1);
	for (size_t i = 0; i < count && o->err == 0; i++) {
		const json_t *element = json_array_get(value, i);

		put(o, ",", i > 0);
		put_line(o, depth + 1);
		if (put_element(o, element))
			continue;
		if (o->printer != NULL && depth == 1)
			put_kept(o, element, depth + 1);
		else
			put_value(o, element, depth + 1);
	}
	if (count > 0)
		put_line(o, depth);
	put(o, "]", 1);
}

void
config_printer_forget(struct config_printer *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->kept[i].text);
	free(p->kept);
	*p = (struct config_printer){NULL, 0, 0};
}

int
config_print(int fd, const json_t *document, struct config_printer *printer)
{
	struct out o = {
		.fd = fd, .at = malloc(BUFFER_OCTETS), .size = BUFFER_OCTETS, .printer = printer};

	if (o.at == NULL)
		return -ENOMEM;
	put_value(&o, document, 0);
	put(&o, "\n", 1);
	(void)reserve(&o, 0);
	free(o.at);
	if (printer != NULL) {
		config_printer_forget(printer);
		*printer = o.next;
	}
	if (printer != NULL && o.err != 0)
		config_printer_forget(printer);
	return o.err;
}

struct config_printer *
config_printer_create(void)
{
	return calloc(1, sizeof(struct config_printer));
}

void
config_printer_destroy(struct config_printer *p)
{
	if (p != NULL)
		config_printer_forget(p);
	free(p);
}
