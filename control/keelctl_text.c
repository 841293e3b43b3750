/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/keelctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WIDTH_MAX 100 /* of a table */
#define FIRST_LEAST 11 /* of its first column */

struct cell {
	enum colour colour;
	char *text;
};

/* ---- values ---- */

/* Control characters become "?": C0, DEL, and C1 in UTF-8 (jansson has checked that it is UTF-8). */
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
text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
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
print_colour(const struct ctl *ctl, enum colour colour, const char *text)
{
	static const char *const codes[] = {
		[GREEN] = "32", [YELLOW] = "33", [RED] = "31", [BOLD] = "1"};

	if (ctl->colour && colour != PLAIN)
		printf("\033[%sm%s\033[0m", codes[colour], text);
	else
		fputs(text, stdout);
}

struct table
table_begin(const struct column *column, unsigned column_count)
{
	return (struct table){.column = column, .column_count = column_count};
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

/* Characters, not bytes: what follows a first byte of UTF-8 takes no column. */
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
	unsigned width = text_width(t->column[column].title);

	for (unsigned i = column; i < t->cell_count; i += t->column_count) {
		unsigned w = text_width(t->cell[i].text);

		if (w > width)
			width = w;
	}
	return width;
}

/* One cell; the last of a line gets no blanks behind it. */
static void
cell_print(const struct table *t, const struct ctl *ctl, unsigned column, enum colour colour,
	const char *text, unsigned width)
{
	unsigned pad = width - text_width(text);
	bool last = column + 1 == t->column_count;

	if (t->column[column].right)
		printf("%*s", (int)pad, "");
	print_colour(ctl, colour, text);
	if (!last)
		printf("%*s", (int)(t->column[column].right ? 0 : pad) + 2, "");
	else
		putchar('\n');
}

/*
 * A table that would be wider than people's terminals gives up blanks of its first column: what is longer there (an IPv6 address) stands on a
 * line of its own. That is the width of the column then, else what it needs.
 */
static unsigned
first_width(const struct table *t, const unsigned *width, unsigned indent)
{
	unsigned total = indent, least = text_width(t->column[0].title), over;

	for (unsigned c = 0; c < t->column_count; c++)
		total += width[c] + (c > 0 ? 2 : 0);
	over = total > WIDTH_MAX && !t->column[0].right ? total - WIDTH_MAX : 0;
	if (least < FIRST_LEAST)
		least = FIRST_LEAST;
	return over == 0 || width[0] <= least		    ? width[0]
	       : width[0] - over > least && width[0] > over ? width[0] - over
							    : least;
}

/* A first cell that does not fit is followed by a new line and its blanks. */
static void
first_print(const struct table *t, const struct ctl *ctl, const struct cell *cell, unsigned width,
	unsigned indent)
{
	printf("%*s", (int)indent, "");
	if (text_width(cell->text) <= width) {
		cell_print(t, ctl, 0, cell->colour, cell->text, width);
		return;
	}
	print_colour(ctl, cell->colour, cell->text);
	printf("\n%*s", (int)(indent + width + 2), "");
}

void
table_end(struct table *t, const struct ctl *ctl, unsigned indent)
{
	unsigned width[16];

	for (unsigned c = 0; c < t->column_count; c++)
		width[c] = column_width(t, c);
	width[0] = first_width(t, width, indent);
	printf("%*s", (int)indent, "");
	for (unsigned c = 0; c < t->column_count; c++)
		cell_print(t, ctl, c, BOLD, t->column[c].title, width[c]);
	for (unsigned i = 0; i < t->cell_count; i++) {
		unsigned c = i % t->column_count;

		if (c == 0)
			first_print(t, ctl, &t->cell[i], width[0], indent);
		else
			cell_print(t, ctl, c, t->cell[i].colour, t->cell[i].text, width[c]);
		free(t->cell[i].text);
	}
	free(t->cell);
}
