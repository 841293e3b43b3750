/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * show route: the daemon answers page by page, in any order. JSON is printed page by page, lines for people by
 * rising prefix after the last page. A full table does not take memory in keelctl.
 */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000

/* ---- one line per path ---- */

/*
 * The keys of a line, as `columns` of rib.routes: a row has the values in the order of the keys, null
 * for a key that the path does not have. A terse line has the first TERSE_COUNT.
 */
enum key {
	KEY_PREFIX,
	KEY_RD,
	KEY_NEXT_HOP,
	KEY_PEER,
	KEY_LOCAL_PREF,
	KEY_MED,
	KEY_AS_PATH,
	KEY_ORIGIN,
	KEY_BEST,
	KEY_VALID,
	KEY_STALE,
	KEY_REASON,
	KEY_INSTALLED,
	KEY_LABELS,
	KEY_COUNT
};
#define TERSE_COUNT (KEY_PEER + 1)
static const char *const key_names[KEY_COUNT] = {"prefix", "rd", "next_hop", "peer", "local_pref",
	"med", "as_path", "origin", "best", "valid", "stale", "reason", "installed", "labels"};

static const json_t *
row_get(const json_t *row, enum key key)
{
	return json_array_get(row, key);
}

static const char *
row_text(const json_t *row, enum key key)
{
	return value_text(row_get(row, key));
}

/*
 * A path takes one line if all values fit their columns (IPv4 values do). After a longer value (an
 * IPv6 prefix has up to 43 characters) the line ends on a terminal, and the next value is printed in
 * its own column of the next line.
 */
static const struct {
	const char *title;
	unsigned at, width;
	bool right;
} columns[] = {{"Prefix", 3, 18, false}, {"Next hop", 22, 15, false}, {"Peer", 38, 15, false},
	{"LocPrf", 54, 6, true}, {"MED", 61, 6, true}};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))
#define PATH_AT 69 /* the AS path; its continuation lines begin below the next hop */

struct line {
	const struct ctl *ctl;
	unsigned width; /* output_width() */
	unsigned at; /* columns printed so far */
};

static void
blanks(struct line *l, unsigned count)
{
	l->at += count;
	while (count-- > 0)
		putchar_unlocked(' ');
}

static void
print_at(struct line *l, unsigned column)
{
	if (l->at >= column && l->width == WIDTH_ANY)
		column = l->at + 1;
	if (l->at >= column) {
		putchar('\n');
		l->at = 0;
	}
	blanks(l, column - l->at);
}

static void
print_column(struct line *l, unsigned i, const char *text)
{
	unsigned len = (unsigned)strlen(text),
		 pad = len < columns[i].width ? columns[i].width - len : 0;

	print_at(l, columns[i].at + (columns[i].right ? pad : 0));
	fwrite(text, 1, len, stdout);
	l->at += len;
}

/*
 * Prints a word after the columns, on the next line if this line has no room. `before`: blanks
 * before the word.
 */
static void
print_word(struct line *l, unsigned before, enum colour colour, const char *text, size_t len)
{
	if (l->at + before + len > l->width && l->at > columns[1].at)
		print_at(l, columns[1].at);
	else
		blanks(l, before);
	print_part(l->ctl, colour, text, len);
	l->at += (unsigned)len;
}

static void
list_header(const struct ctl *ctl)
{
	print_colour(ctl, BOLD, "*> best, * valid, S stale\n");
	print_colour(ctl, BOLD,
		"   Prefix             Next hop        Peer            LocPrf    MED  AS path\n");
}

static const char *
peer_text(const json_t *peer)
{
	return json_is_null(peer) ? "local" : value_text(peer);
}

static const char *
origin_letter(const json_t *value)
{
	const char *origin = value_text(value);

	return strcmp(origin, "igp") == 0 ? "i" : strcmp(origin, "egp") == 0 ? "e" : "?";
}

/*
 * Prints the AS path in full, since the path may exceed the size of a cell. An AS path consists of
 * digits, blanks and braces, without control characters.
 */
static void
print_as_path(const json_t *route)
{
	const char *path = json_string_value(json_object_get(route, "as_path"));

	if (path != NULL && *path != '\0')
		printf("%s ", path);
}

/* The AS path in a line of the list, broken between AS numbers. */
static void
list_as_path(struct line *l, const json_t *row)
{
	const char *path = json_string_value(row_get(row, KEY_AS_PATH));
	unsigned before = 0;

	print_at(l, l->at > PATH_AT - 2 ? columns[1].at : PATH_AT);
	while (path != NULL && *path != '\0') {
		size_t len = strcspn(path, " ");

		print_word(l, before, PLAIN, path, len);
		before = 1;
		path += len + (path[len] == ' ');
	}
	print_word(l, before, PLAIN, origin_letter(row_get(row, KEY_ORIGIN)), 1);
}

/* A VPN route as RD:PREFIX. */
static const char *
prefix_text(const json_t *rd, const json_t *prefix, char *buf, size_t size)
{
	if (!json_is_string(rd))
		return value_text(prefix);
	snprintf(buf, size, "%s:%s", value_text(rd), value_text(prefix));
	return buf;
}

static const char *
row_prefix(const json_t *row, char *buf, size_t size)
{
	return prefix_text(row_get(row, KEY_RD), row_get(row, KEY_PREFIX), buf, size);
}

static void
list_note(struct line *l, enum colour colour, const char *text)
{
	print_word(l, 2, colour, text, strlen(text));
}

static void
list_line(const struct ctl *ctl, unsigned width, const json_t *row)
{
	bool best = json_is_true(row_get(row, KEY_BEST)),
	     valid = json_is_true(row_get(row, KEY_VALID));
	const json_t *label = json_array_get(row_get(row, KEY_LABELS), 0);
	char mark[2], text[128], prefix[128];
	const char *const values[COLUMN_COUNT] = {row_prefix(row, prefix, sizeof(prefix)),
		row_text(row, KEY_NEXT_HOP), peer_text(row_get(row, KEY_PEER)),
		row_text(row, KEY_LOCAL_PREF), row_text(row, KEY_MED)};
	struct line l = {.ctl = ctl, .width = width, .at = 2};

	mark[0] = json_is_true(row_get(row, KEY_STALE)) ? 'S' : valid ? '*' : ' ';
	mark[1] = best ? '>' : ' ';
	print_part(ctl, best ? GREEN : PLAIN, mark, 2);
	for (unsigned i = 0; i < COLUMN_COUNT; i++)
		print_column(&l, i, values[i]);
	list_as_path(&l, row);
	if (json_is_string(row_get(row, KEY_REASON))) {
		snprintf(text, sizeof(text), "(%s)", row_text(row, KEY_REASON));
		list_note(&l, valid ? PLAIN : YELLOW, text);
	}
	if (json_is_false(row_get(row, KEY_INSTALLED)))
		list_note(&l, RED, "(not installed)");
	if (label != NULL) {
		snprintf(text, sizeof(text), "(label %s)", value_text(label));
		list_note(&l, PLAIN, text);
	}
	putchar('\n');
}

/* ---- one destination in detail ---- */

static void
print_words(const json_t *route, const char *key, const char *title)
{
	const json_t *words = json_object_get(route, key), *w;
	size_t i;

	if (json_array_size(words) == 0)
		return;
	printf("     %-21s", title);
	json_array_foreach(words, i, w) printf("%s%s", i > 0 ? " " : "",
		text_safe(json_is_string(w) ? json_string_value(w) : "?"));
	putchar('\n');
}

static void
print_unknown(const json_t *route)
{
	const json_t *unknown = json_object_get(route, "unknown_attributes"), *u;
	size_t i;

	json_array_foreach(unknown, i, u)
	{
		char title[SHORT_TEXT];

		snprintf(title, sizeof(title), "attribute %s", text_of(u, "type"));
		printf("     %-21sflags %s, 0x%s\n", title, text_of(u, "flags"),
			text_of(u, "value"));
	}
}

static const char *
peer_of(const json_t *route)
{
	return peer_text(json_object_get(route, "peer"));
}

/* The forwarding table rejected the route; installed routes have no such key. */
static bool
not_installed(const json_t *route)
{
	return json_is_false(json_object_get(route, "installed"));
}

static long long
label_of(const json_t *route)
{
	return json_integer_value(json_array_get(json_object_get(route, "labels"), 0));
}

static void
print_attributes(const json_t *route)
{
	if (json_object_get(route, "rd") != NULL)
		printf("     %-21s%s\n", "route distinguisher", text_of(route, "rd"));
	if (json_array_size(json_object_get(route, "labels")) > 0)
		printf("     %-21s%lld\n", "label", label_of(route));
	printf("     %-21s%s", "next hop", text_of(route, "next_hop"));
	if (json_object_get(route, "next_hop_link_local") != NULL)
		printf(" %s", text_of(route, "next_hop_link_local"));
	printf("\n     %-21s", "AS path");
	print_as_path(route);
	printf("%s\n     %-21s%s, local-pref %s, MED %s\n",
		origin_letter(json_object_get(route, "origin")), "origin", text_of(route, "origin"),
		text_of(route, "local_pref"), text_of(route, "med"));
	if (json_is_string(json_object_get(route, "originator_id")))
		printf("     %-21s%s\n", "originator", text_of(route, "originator_id"));
	if (json_is_string(json_object_get(route, "validation")))
		printf("     %-21s%s\n", "origin validation", text_of(route, "validation"));
	print_words(route, "cluster_list", "cluster list");
	print_words(route, "communities", "communities");
	print_words(route, "large_communities", "large communities");
	print_words(route, "ext_communities", "extended communities");
	if (true_of(route, "atomic_aggregate"))
		puts("     atomic aggregate");
	if (json_object_get(route, "aggregator") != NULL)
		printf("     %-21sAS %s, %s\n", "aggregator",
			text_of(json_object_get(route, "aggregator"), "asn"),
			text_of(json_object_get(route, "aggregator"), "address"));
	if (json_object_get(route, "only_to_customer") != NULL)
		printf("     %-21sAS %s\n", "only to customer", text_of(route, "only_to_customer"));
	print_unknown(route);
}

static void
print_path(const struct ctl *ctl, const json_t *route, bool sent)
{
	bool best = true_of(route, "best"), valid = true_of(route, "valid");
	char age[SHORT_TEXT];

	if (sent) {
		printf("  to %s\n", peer_of(route));
	} else {
		fputs("  ", stdout);
		print_colour(ctl,
			best	? GREEN
			: valid ? PLAIN
				: YELLOW,
			best	? "*>"
			: valid ? "* "
				: "  ");
		printf(" from %s, for %s%s%s%s%s%s\n", peer_of(route),
			duration_text(real_of(route, "age_s"), age),
			true_of(route, "stale") ? ", stale" : "",
			true_of(route, "multipath") ? ", multipath" : "",
			best ? ", best" : ", not best: ", best ? "" : text_of(route, "reason"),
			not_installed(route) ? ", not installed" : "");
	}
	print_attributes(route);
}

static void
print_detail(const struct ctl *ctl, const char *prefix, const json_t *routes, bool sent)
{
	const json_t *route;
	size_t i, n = json_array_size(routes);

	if (n == 0) {
		printf("no route\n");
		return;
	}
	print_colour(ctl, BOLD, prefix);
	printf(", %zu path%s\n", n, n == 1 ? "" : "s");
	json_array_foreach(routes, i, route) print_path(ctl, route, sent);
}

/* Prints the refused announcements of the prefix; kept announcements with attributes. */
static void
print_refused(const json_t *refused)
{
	const json_t *r, *route;
	char age[SHORT_TEXT];
	size_t i;

	json_array_foreach(refused, i, r)
	{
		printf("  refused from %s: %s", text_of(r, "peer"), text_of(r, "cause"));
		if (json_object_get(r, "policy") != NULL)
			fputs(": ", stdout);
		print_policy_node(r);
		printf(", %s ago\n", duration_text(real_of(r, "age_s"), age));
		route = json_object_get(r, "route");
		if (route != NULL)
			print_attributes(route);
	}
}

/* ---- commands ---- */

/* First a longer prefix without a usable route, then the longest prefix with a usable route. */
static void
print_lookup(struct ctl *ctl, const json_t *result)
{
	const json_t *announced = json_object_get(result, "announced"), *route,
		     *routes = json_object_get(announced, "routes");
	size_t i;

	if (announced != NULL) {
		print_colour(ctl, BOLD, text_of(announced, "prefix"));
		puts(", no usable route");
		json_array_foreach(routes, i, route) print_path(ctl, route, false);
		print_refused(json_object_get(announced, "refused"));
	}
	if (announced != NULL && json_is_null(json_object_get(result, "prefix")))
		return;
	print_detail(ctl, text_of(result, "prefix"), json_object_get(result, "routes"), false);
	print_refused(json_object_get(result, "refused"));
}

/* ADDRESS: the longest match. */
static void
lookup(struct ctl *ctl, const struct command *c)
{
	ctl_result(ctl, ctl_call(ctl, "rib.lookup", command_params(c)), print_lookup);
}

#define CODE_NOT_KEPT (-32010)

/* The pages of a list, one after the other. */
struct pages {
	const struct command *c;
	const char *view;
	bool whole; /* all keys of each route; false: rows of the keys of a line */
};

static bool
is_advertised(const struct command *c)
{
	return keyword(c, "advertised|advertised-routes") != NULL;
}

static struct pages
pages_of(const struct command *c, bool whole)
{
	return (struct pages){.c = c,
		.whole = whole,
		.view = arg(c, "peer") == NULL			 ? "loc"
			: is_advertised(c)			 ? "adj-out"
			: keyword(c, "received|received-routes") ? "adj-in-pre"
								 : "adj-in"};
}

static bool
is_count(const struct command *c)
{
	return keyword(c, "count|statistics") != NULL;
}

static json_t *
columns_json(const struct command *c)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < (keyword(c, "terse") ? TERSE_COUNT : KEY_COUNT); i++)
		json_array_append_new(names, json_string(key_names[i]));
	return names;
}

/* `cursor`: NULL for the first page. */
static json_t *
page_params(const struct pages *p, const char *cursor)
{
	const struct command *c = p->c;
	json_t *params = command_params(c);

	json_object_set_new(params, "view", json_string(p->view));
	json_object_set_new(params, "longer", json_boolean(keyword(c, "longer|longer-prefixes")));
	json_object_set_new(params, "limit", json_integer(PAGE));
	if (cursor != NULL)
		json_object_set_new(params, "cursor", json_string(cursor));
	if (!p->whole)
		json_object_set_new(params, "columns", columns_json(c));
	if (keyword(c, "best") || (keyword(c, "routing-table") && !keyword(c, "bgp")))
		json_object_set_new(params, "best", json_true());
	if (is_count(c))
		json_object_set_new(params, "count", json_true());
	return params;
}

/* `received-routes` of a peer that is not kept: after the import policy. */
static json_t *
first_page(struct ctl *ctl, struct pages *p)
{
	json_t *error, *result = ctl_ask(ctl, "rib.routes", page_params(p, NULL), &error);

	if (keyword(p->c, "received-routes") && number_of(error, "code") == CODE_NOT_KEPT) {
		fprintf(stderr, "routes after the import policy: %s has no keep-all-routes\n",
			arg(p->c, "peer"));
		p->view = "adj-in";
		result = ctl_call(ctl, "rib.routes", page_params(p, NULL));
	} else if (error != NULL) {
		ctl_refused(ctl, "rib.routes", error);
	}
	json_decref(error);
	return result;
}

/* A route in one short line: prefix, next hop, peer. */
static void
terse_line(const json_t *row)
{
	char prefix[128];

	printf("%s %s %s\n", row_prefix(row, prefix, sizeof(prefix)), row_text(row, KEY_NEXT_HOP),
		peer_text(row_get(row, KEY_PEER)));
}

static void
detail_lines(const struct ctl *ctl, const struct command *c, const json_t *route)
{
	char prefix[128];

	print_colour(ctl, BOLD,
		prefix_text(json_object_get(route, "rd"), json_object_get(route, "prefix"), prefix,
			sizeof(prefix)));
	putchar('\n');
	print_path(ctl, route, is_advertised(c));
}

#define RUN_OCTETS (256u << 10)
#define RUNS_MAX 900

struct sorted_line {
	unsigned char prefix[17]; /* address, length */
	size_t at, len; /* of the text */
};

/*
 * The lines of a list until the last page is there. Of many lines keelctl keeps the last; the others are
 * sorted runs in temporary files. Paths of equal prefixes keep their order.
 */
struct sorted {
	FILE *out;
	char *text;
	size_t text_len;
	struct sorted_line *line;
	size_t count, size;
	struct run {
		FILE *file; /* NULL after the last line */
		struct sorted_line head;
		char *text;
	} run[RUNS_MAX];
	unsigned runs;
	int err; /* errno of a failed file or allocation; ends the list */
};

static int
by_prefix(const void *a, const void *b)
{
	const struct sorted_line *x = a, *y = b;
	int order = memcmp(x->prefix, y->prefix, sizeof(x->prefix));

	return order != 0 ? order : x->at < y->at ? -1 : x->at > y->at;
}

/* Writes the lines in order: to standard output, or as a run, each with its key and length. */
static void
sorted_write(struct sorted *s, FILE *to, bool run)
{
	if (fflush(s->out) != 0 || ferror(s->out))
		s->err = ENOMEM;
	if (s->count > 0)
		qsort(s->line, s->count, sizeof(*s->line), by_prefix);
	for (size_t i = 0; i < s->count && s->err == 0 && !ferror(to); i++) {
		if (run)
			fwrite(&s->line[i], sizeof(s->line[i]), 1, to);
		fwrite(s->text + s->line[i].at, 1, s->line[i].len, to);
	}
	s->count = 0;
	rewind(s->out);
}

/* Reads the next line of a run; closes its file at the end, and after an error. */
static void
run_next(struct sorted *s, struct run *r)
{
	size_t n = fread(&r->head, 1, sizeof(r->head), r->file);
	char *text = n == sizeof(r->head) ? realloc(r->text, r->head.len + 1) : NULL;

	if (text != NULL) {
		r->text = text;
		if (fread(text, 1, r->head.len, r->file) == r->head.len)
			return;
	}
	if (ferror(r->file))
		s->err = errno;
	else if (n > 0)
		s->err = n == sizeof(r->head) && text == NULL ? ENOMEM : EIO;
	fclose(r->file);
	r->file = NULL;
}

static void
sorted_run(struct sorted *s)
{
	FILE *file = s->runs < RUNS_MAX ? tmpfile() : NULL;

	if (file == NULL) {
		s->err = s->runs < RUNS_MAX ? errno : EMFILE;
		return;
	}
	s->run[s->runs++].file = file;
	sorted_write(s, file, true);
	if (s->err == 0 && (ferror(file) || fflush(file) != 0))
		s->err = errno;
	rewind(file);
}

static void
sorted_add(struct sorted *s, const char *prefix, size_t at)
{
	struct sorted_line *l;
	unsigned len = 0;

	if (s->err != 0)
		return;
	if (s->count == s->size) {
		size_t size = s->size > 0 ? 2 * s->size : 1024;

		l = realloc(s->line, size * sizeof(*l));
		if (l == NULL) {
			s->err = ENOMEM;
			return;
		}
		s->line = l;
		s->size = size;
	}
	l = &s->line[s->count++];
	*l = (struct sorted_line){.at = at, .len = (size_t)ftello(s->out) - at};
	(void)text_prefix(prefix, l->prefix, &len);
	l->prefix[16] = (unsigned char)len;
	/* larger runs later: their number stays small */
	if (at + s->count * sizeof(*l) > RUN_OCTETS * (1 + s->runs / 16))
		sorted_run(s);
}

/* Merges the runs: the first of those with the least prefix goes next. */
static void
sorted_merge(struct sorted *s)
{
	struct run *least;

	for (unsigned i = 0; i < s->runs; i++)
		run_next(s, &s->run[i]);
	while (s->err == 0 && !ferror(stdout)) {
		least = NULL;
		for (struct run *r = s->run; r < s->run + s->runs; r++) {
			if (r->file != NULL &&
				(least == NULL || memcmp(r->head.prefix, least->head.prefix,
							  sizeof(r->head.prefix)) < 0))
				least = r;
		}
		if (least == NULL)
			return;
		fwrite(least->text, 1, least->head.len, stdout);
		run_next(s, least);
	}
}

/* Prints the lines unless `drop`, or says why not, and frees them. */
static void
sorted_end(struct ctl *ctl, struct sorted *s, bool header, bool drop)
{
	if (s->out == NULL)
		return;
	drop |= s->err != 0;
	if (s->runs > 0 && s->count > 0 && !drop)
		sorted_run(s);
	drop |= s->err != 0;
	if (header && !drop && s->count + s->runs > 0)
		list_header(ctl);
	if (!drop && s->runs > 0)
		sorted_merge(s);
	else if (!drop)
		sorted_write(s, stdout, false);
	if (s->err != 0)
		ctl_fail(ctl, EXIT_REFUSED, "cannot keep the list in memory and " P_tmpdir ": %s",
			strerror(s->err));
	for (unsigned i = 0; i < s->runs; i++) {
		if (s->run[i].file != NULL)
			fclose(s->run[i].file);
		free(s->run[i].text);
	}
	fclose(s->out);
	free(s->line);
	free(s->text);
}

static void
print_page(struct ctl *ctl, const struct pages *p, const json_t *result, struct sorted *s,
	unsigned long long *printed)
{
	const struct command *c = p->c;
	const json_t *route, *routes = json_object_get(result, p->whole ? "routes" : "rows");
	unsigned width = output_width(ctl);
	FILE *terminal = stdout;
	size_t i;

	if (!ctl->json)
		stdout = s->out;
	json_array_foreach(routes, i, route)
	{
		size_t at = ctl->json ? 0 : (size_t)ftello(s->out);

		if (ctl->json) {
			if (*printed > 0)
				putchar(',');
			json_dumpf(route, stdout, JSON_COMPACT);
		} else if (p->whole) {
			detail_lines(ctl, c, route);
		} else if (keyword(c, "terse")) {
			terse_line(route);
		} else {
			list_line(ctl, width, route);
		}
		if (!ctl->json)
			sorted_add(s,
				p->whole ? string_of(route, "prefix")
					 : json_string_value(row_get(route, KEY_PREFIX)),
				at);
		++*printed;
	}
	stdout = terminal;
	/* an early end of the reader (| head) ends keelctl here, not after the last page */
	fflush(stdout);
}

static void
print_count(struct ctl *ctl, long long count)
{
	ctl_progress_end(ctl);
	printf("%lld path%s\n", count, count == 1 ? "" : "s");
}

/* With --json all pages are printed as one value. The daemon works on the next page while this page is printed. */
static void
list_all(struct ctl *ctl, const struct command *c)
{
	struct pages pages =
		pages_of(c, ctl->json || (keyword(c, "detail|verbose") && !keyword(c, "terse")));
	unsigned long long printed = 0, done;
	long long counted = 0;
	json_t *result = first_page(ctl, &pages);
	bool more = result != NULL, cut = false;
	struct sorted sorted = {.out = NULL};

	if (result == NULL)
		return;
	if (!ctl->json && (sorted.out = open_memstream(&sorted.text, &sorted.text_len)) == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "out of memory");
		json_decref(result);
		return;
	}
	if (ctl->json)
		fputs("{\"routes\":[", stdout);
	while (result != NULL) {
		const char *cursor = json_string_value(json_object_get(result, "next"));

		cut = cursor != NULL && ctl_interrupted();
		more = cursor != NULL && !cut && !ferror(stdout);
		if (more && !ctl_send(ctl, "rib.routes", page_params(&pages, cursor)))
			cursor = NULL;
		print_page(ctl, &pages, result, &sorted, &printed);
		counted += number_of(result, "count");
		json_decref(result);
		if (more && !ctl->json)
			ctl_progress(ctl, "%llu paths, more follow",
				is_count(c) ? (unsigned long long)counted : printed);
		result = more && cursor != NULL && sorted.err == 0 ? ctl_receive(ctl, "rib.routes")
								   : NULL;
	}
	if (!ctl->json)
		ctl_progress_end(ctl);
	cut |= more; /* the next page did not come */
	done = is_count(c) ? (unsigned long long)counted : printed;
	if (cut && sorted.err == 0)
		ctl_fail(ctl, ctl->status != EXIT_DONE ? ctl->status : EXIT_REFUSED,
			"interrupted after %llu path%s", done, done == 1 ? "" : "s");
	/* the lines so far are not those of the first prefixes */
	sorted_end(ctl, &sorted, !pages.whole && !keyword(c, "terse"), cut);
	if (cut || sorted.err != 0)
		return;
	if (ctl->json && is_count(c))
		printf("],\"count\":%lld}\n", counted);
	else if (ctl->json)
		puts("]}");
	else if (is_count(c))
		print_count(ctl, counted);
	else if (printed == 0)
		puts("no route");
	else if (ctl->terminal)
		printf("%llu path%s\n", printed, printed == 1 ? "" : "s");
}

void
show_route(struct ctl *ctl, const struct command *c)
{
	struct pages pages = pages_of(c, true);
	json_t *result;

	if (arg(c, "address") != NULL) {
		lookup(ctl, c);
		return;
	}
	/* a prefix of a VPN family may be there with several distinguishers */
	if (arg(c, "prefix") == NULL ||
		keyword(c, "longer|longer-prefixes|terse|count|statistics") ||
		(strncmp(c->family, "vpn", 3) == 0 && arg(c, "rd") == NULL)) {
		list_all(ctl, c);
		return;
	}
	result = first_page(ctl, &pages);
	if (result != NULL && ctl->json) {
		ctl_print_json(result, false);
	} else if (result != NULL) {
		print_detail(ctl, text_safe(arg(c, "prefix")), json_object_get(result, "routes"),
			is_advertised(c));
		print_refused(json_object_get(result, "refused"));
	}
	json_decref(result);
}
