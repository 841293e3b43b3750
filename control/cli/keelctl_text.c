/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/cli/keelctl.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_LEAST 4 /* minimum of the first column */
#define LAST_LEAST 14 /* minimum of the last column, if left-aligned */

struct cell {
	enum colour colour;
	char *text;
};

/* ---- values ---- */

/*
 * Replaces control characters by "?": C0, DEL, and C1 in UTF-8 (jansson has validated the UTF-8).
 */
const char *
text_safe(const char *text)
{
	static char ring[5][512];
	static unsigned turn;
	char *buf = ring[turn++ % 5], *o = buf;

	for (const unsigned char *p = (const unsigned char *)text;
		*p != '\0' && o < buf + sizeof(ring[0]) - 5; p++) {
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			*o++ = '?';
			p++;
		} else {
			*o++ = *p < 0x20 || *p == 0x7f ? '?' : (char)*p;
		}
	}
	*o = '\0';
	return buf;
}

const char *
value_text(const json_t *v)
{
	char number[SHORT_TEXT];

	if (json_is_string(v))
		return text_safe(json_string_value(v));
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	if (!json_is_integer(v))
		return "-";
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	return text_safe(number);
}

void
print_scalar(const json_t *v)
{
	if (json_is_string(v))
		fputs(text_safe(json_string_value(v)), stdout);
	else
		json_dumpf(v, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
}

const char *
text_of(const json_t *o, const char *key)
{
	return value_text(json_object_get(o, key));
}

const char *
string_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

json_t *
member_made(json_t *o, const char *key, json_t *fresh)
{
	json_t *m = json_object_get(o, key);

	if (m == NULL)
		json_object_set_new(o, key, fresh);
	else
		json_decref(fresh);
	return json_object_get(o, key);
}

long long
number_of(const json_t *o, const char *key)
{
	return (long long)json_number_value(json_object_get(o, key));
}

double
real_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

bool
true_of(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const char *
yes_no(const json_t *o, const char *key)
{
	return true_of(o, key) ? "yes" : "no";
}

const char *
duration_text(double seconds, char buf[SHORT_TEXT])
{
	unsigned long long s = seconds > 0 && seconds < 1e15 ? (unsigned long long)seconds : 0;

	if (s < 86400)
		snprintf(buf, SHORT_TEXT, "%02llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(buf, SHORT_TEXT, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return buf;
}

const char *
ns_text(double ns, char buf[SHORT_TEXT])
{
	if (ns < 1e3)
		snprintf(buf, SHORT_TEXT, "%.0f ns", ns);
	else if (ns < 1e6)
		snprintf(buf, SHORT_TEXT, "%.1f us", ns / 1e3);
	else if (ns < 1e9)
		snprintf(buf, SHORT_TEXT, "%.1f ms", ns / 1e6);
	else
		snprintf(buf, SHORT_TEXT, "%.1f s", ns / 1e9);
	return buf;
}

const char *
bytes_text(double bytes, char buf[SHORT_TEXT])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned u = 0;

	for (; bytes >= 1024 && u < 4; u++)
		bytes /= 1024;
	snprintf(buf, SHORT_TEXT, u == 0 ? "%.0f %s" : "%.1f %s", bytes, units[u]);
	return buf;
}

const char *
time_text(double seconds, const char *format, char buf[SHORT_TEXT])
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (seconds <= 0 || localtime_r(&when, &tm) == NULL ||
		strftime(buf, SHORT_TEXT, format, &tm) == 0)
		snprintf(buf, SHORT_TEXT, "-");
	return buf;
}

/* ---- tables ---- */

static void
out_of_memory(void)
{
	fputs("keelctl: out of memory\n", stderr);
	exit(EXIT_REFUSED);
}

void
print_part(const struct ctl *ctl, enum colour colour, const char *text, size_t len)
{
	static const char *const codes[] = {
		[GREEN] = "32", [YELLOW] = "33", [RED] = "31", [BOLD] = "1"};

	if (ctl->colour && colour != PLAIN)
		printf("\033[%sm%.*s\033[0m", codes[colour], (int)len, text);
	else
		fwrite(text, 1, len, stdout);
}

void
print_colour(const struct ctl *ctl, enum colour colour, const char *text)
{
	print_part(ctl, colour, text, strlen(text));
}

struct table
table_begin(const char *titles)
{
	struct table t = {.column_count = 0};

	snprintf(t.titles, sizeof(t.titles), "%s", titles);
	for (char *at = t.titles; at != NULL && t.column_count < COLUMNS_MAX; t.column_count++) {
		t.right[t.column_count] = *at == '>';
		t.title[t.column_count] = (unsigned char)(at - t.titles + (*at == '>'));
		at = strchr(at, '|');
		if (at != NULL)
			*at++ = '\0';
	}
	return t;
}

static const char *
title_of(const struct table *t, unsigned column)
{
	return t->titles + t->title[column];
}

void
table_cell(struct table *t, enum colour colour, const char *fmt, ...)
{
	struct cell c = {colour, NULL};
	va_list ap;

	if (t->cell_count == t->cell_size) {
		unsigned size = t->cell_size ? 2 * t->cell_size : 64;
		struct cell *cell = realloc(t->cell, size * sizeof(*cell));

		if (cell == NULL)
			out_of_memory();
		t->cell = cell;
		t->cell_size = size;
	}
	va_start(ap, fmt);
	if (vasprintf(&c.text, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	t->cell[t->cell_count++] = c;
}

enum colour
state_colour(const char *state)
{
	static const char good[] = "|established|up|synced|done|reset|route-refresh-sent|replayed|"
				   "readvertised|no-op|instance-added|instance-changed|"
				   "instance-removed|",
			  bad[] = "|idle|down|failed|missing|no-data|session-reset|not-applied|";
	char word[64];

	snprintf(word, sizeof(word), "|%s|", state);
	return strstr(good, word) != NULL			       ? GREEN
	       : strstr(bad, word) != NULL			       ? RED
	       : strcmp(state, "none") == 0 || strcmp(state, "-") == 0 ? PLAIN
								       : YELLOW;
}

/* Strings, or the member `key` of objects, with `between`; "-" without elements. */
static const char *
joined(const json_t *array, const char *key, const char *between, char *buf, size_t size)
{
	size_t i, at = 0;
	const json_t *v;

	snprintf(buf, size, "%s", json_is_array(array) ? "-" : value_text(array));
	json_array_foreach(array, i, v)
	{
		if (at + 40 > size) {
			snprintf(buf + at, size - at, " ...");
			break;
		}
		at += (size_t)snprintf(buf + at, size - at, "%s%s", i > 0 ? between : "",
			json_is_object(v) ? text_of(v, key) : value_text(v));
	}
	return buf;
}

static double
sum_of(const json_t *v)
{
	double sum = json_number_value(v);
	const char *key;
	json_t *n;

	json_object_foreach((json_t *)(uintptr_t)v, key, n) sum += json_number_value(n);
	return sum;
}

/* A value by a format of list_print(). */
static void
format_cell(struct table *t, const json_t *v, const char *format)
{
	double number = sum_of(v);
	char text[400];

	if (strcmp(format, "state") == 0)
		table_cell(t, state_colour(value_text(v)), "%s", value_text(v));
	else if (strcmp(format, "bytes") == 0)
		table_cell(t, PLAIN, "%s", bytes_text(number, text));
	else if (strcmp(format, "ns") == 0)
		table_cell(t, PLAIN, "%s", ns_text(number, text));
	else if (strcmp(format, "date") == 0)
		table_cell(t, PLAIN, "%s", time_text(number, "%F %T", text));
	else if (strcmp(format, "whole") == 0)
		table_cell(t, PLAIN, "%.0f", number);
	else if (strcmp(format, "warn") == 0 || strcmp(format, "bad") == 0)
		table_cell(t,
			number <= 0	 ? PLAIN
			: *format == 'b' ? RED
					 : YELLOW,
			"%s",
			json_is_object(v) ? (snprintf(text, sizeof(text), "%.0f", number), text)
					  : value_text(v));
	else
		table_cell(t, PLAIN, "%s",
			joined(v, format, *format != '\0' ? "," : " ", text, sizeof(text)));
}

/* The next column of `*columns`; its title is added to the titles. */
static void
column_next(const char **columns, char titles[192], char key[64], char format[16])
{
	size_t len = strcspn(*columns, "|"), title = strcspn(*columns, "="), at = strlen(titles);
	const char *colon = memchr(*columns, ':', len);
	size_t end = colon != NULL ? (size_t)(colon - *columns) : len;

	snprintf(titles + at, 192 - at, "%s%.*s", at > 0 ? "|" : "", (int)title, *columns);
	snprintf(key, 64, "%.*s", (int)(end - title - 1), *columns + title + 1);
	snprintf(format, 16, "%.*s", (int)(len - end - (colon != NULL)),
		*columns + end + (colon != NULL));
	*columns += len + ((*columns)[len] == '|');
}

void
list_print(struct ctl *ctl, const json_t *array, const char *columns, const char *none)
{
	char titles[192] = "", key[64], format[16];
	struct table t;
	const json_t *o;
	size_t i;

	if (json_array_size(array) == 0 && none != NULL) {
		puts(none);
		return;
	}
	for (const char *c = columns; *c != '\0';)
		column_next(&c, titles, key, format);
	t = table_begin(titles);
	json_array_foreach(array, i, o)
	{
		for (const char *c = columns; *c != '\0';) {
			const json_t *v = o;

			column_next(&c, (char[192]){""}, key, format);
			for (char *k = key, *dot; v != NULL && k != NULL; k = dot) {
				dot = strchr(k, '.');
				if (dot != NULL)
					*dot++ = '\0';
				v = json_object_get(v, k);
			}
			format_cell(&t, v, format);
		}
	}
	table_end(&t, ctl, 0);
}

void
table_texts(struct table *t, const json_t *o, const char *keys)
{
	while (*keys != '\0') {
		size_t len = strcspn(keys, " ");
		char key[32];

		snprintf(key, sizeof(key), "%.*s", (int)len, keys);
		table_cell(t, PLAIN, "%s", text_of(o, key));
		keys += len + (keys[len] == ' ');
	}
}

/* Counts characters, not bytes: continuation bytes of UTF-8 take no column. */
static unsigned
text_width(const char *text)
{
	unsigned width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static unsigned
column_width(const struct table *t, unsigned column)
{
	unsigned width = text_width(title_of(t, column));

	for (unsigned i = column; i < t->cell_count; i += t->column_count) {
		unsigned w = text_width(t->cell[i].text);

		if (w > width)
			width = w;
	}
	return width;
}

/* Column widths of a table: `gap` blanks between columns, `indent` blanks before the first. */
struct layout {
	unsigned width[COLUMNS_MAX];
	unsigned gap, indent;
	unsigned most; /* columns of a line */
};

static unsigned
layout_total(const struct table *t, const struct layout *l)
{
	unsigned total = l->indent + l->gap * (t->column_count - 1);

	for (unsigned c = 0; c < t->column_count; c++)
		total += l->width[c];
	return total;
}

/*
 * Narrows one column by the excess over the columns of a line, at most to `least` and the width of the title.
 */
static void
layout_narrow(const struct table *t, struct layout *l, unsigned column, unsigned least)
{
	unsigned total = layout_total(t, l), over = total > l->most ? total - l->most : 0,
		 title = text_width(title_of(t, column)), *width = &l->width[column];

	if (least < title)
		least = title;
	if (*width > least)
		*width = *width - least > over ? *width - over : least;
}

/*
 * Narrows a table that exceeds a line in three steps: one blank between columns instead of two;
 * a narrower last column with wrapped text, if left-aligned; a narrower first column, if
 * left-aligned. A longer first cell (an IPv6 prefix) then takes its own line.
 */
static struct layout
layout_of(const struct table *t, unsigned indent, unsigned most)
{
	struct layout l = {.gap = 2, .indent = indent, .most = most};

	for (unsigned c = 0; c < t->column_count; c++)
		l.width[c] = column_width(t, c);
	if (layout_total(t, &l) > (most == WIDTH_ANY ? WIDTH_LEAST : most))
		l.gap = 1;
	if (!t->right[t->column_count - 1])
		layout_narrow(t, &l, t->column_count - 1, LAST_LEAST);
	if (!t->right[0])
		layout_narrow(t, &l, 0, FIRST_LEAST);
	return l;
}

/*
 * Returns how many bytes of `text` fit a line of `width` columns: up to the last blank, otherwise
 * as many characters as fit.
 */
static size_t
fitting(const char *text, unsigned width)
{
	size_t len = 0, blank = 0;

	for (unsigned columns = 0; text[len] != '\0'; columns++) {
		if (columns == width)
			return text[len] == ' ' ? len : blank > 0 ? blank : len;
		if (text[len] == ' ')
			blank = len;
		len++;
		while (((unsigned char)text[len] & 0xc0) == 0x80)
			len++;
	}
	return len;
}

/* Prints the text of the last column, wrapped: further lines begin at column `start`. */
static void
print_wrapped(
	const struct ctl *ctl, enum colour colour, const char *text, unsigned width, unsigned start)
{
	for (bool first = true; first || *text != '\0'; first = false) {
		size_t len = fitting(text, width);

		if (!first)
			printf("\n%*s", (int)start, "");
		print_part(ctl, colour, text, len);
		text += len;
		while (*text == ' ')
			text++;
	}
}

/* Prints one cell, padded unless last in the line. */
static void
cell_print(const struct table *t, const struct ctl *ctl, const struct layout *l, unsigned column,
	enum colour colour, const char *text)
{
	bool last = column + 1 == t->column_count, right = t->right[column];
	unsigned width = l->width[column], used = text_width(text),
		 pad = width > used ? width - used : 0;

	if (last && !right) {
		print_wrapped(ctl, colour, text, width > 0 ? width : 1, layout_total(t, l) - width);
		putchar('\n');
		return;
	}
	printf("%*s", (int)(right ? pad : 0), "");
	print_colour(ctl, colour, text);
	if (last)
		putchar('\n');
	else
		printf("%*s", (int)((right ? 0 : pad) + l->gap), "");
}

/* Prints the first cell; a cell that does not fit is followed by a new line. */
static void
first_print(const struct table *t, const struct ctl *ctl, const struct layout *l,
	const struct cell *cell)
{
	printf("%*s", (int)l->indent, "");
	if (text_width(cell->text) <= l->width[0]) {
		cell_print(t, ctl, l, 0, cell->colour, cell->text);
		return;
	}
	print_colour(ctl, cell->colour, cell->text);
	printf("\n%*s", (int)(l->indent + l->width[0] + l->gap), "");
}

void
table_end(struct table *t, const struct ctl *ctl, unsigned indent)
{
	struct layout l = layout_of(t, indent, output_width(ctl));

	printf("%*s", (int)indent, "");
	for (unsigned c = 0; c < t->column_count; c++)
		cell_print(t, ctl, &l, c, BOLD, title_of(t, c));
	for (unsigned i = 0; i < t->cell_count; i++) {
		unsigned c = i % t->column_count;

		if (c == 0)
			first_print(t, ctl, &l, &t->cell[i]);
		else
			cell_print(t, ctl, &l, c, t->cell[i].colour, t->cell[i].text);
		free(t->cell[i].text);
	}
	free(t->cell);
}

void
table_end_or(struct table *t, const struct ctl *ctl, const char *none)
{
	if (t->cell_count > 0)
		table_end(t, ctl, 0);
	else
		puts(none);
}
