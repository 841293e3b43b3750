/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiles the templates of keelctl_grammar.c into a graph and matches lines against the graph. One
 * walk over sets of graph places provides parsing, abbreviations, error messages, `?` help and
 * completion.
 */
#include "control/cli/keelctl_parse.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- values ---- */

/* AF_INET, AF_INET6, or 0. *rest: "", the "%zone" of IPv6, or the "/" after the address. */
static int
address_read(const char *text, unsigned char bytes[16], const char **rest)
{
	char plain[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%/");

	if (len >= sizeof(plain))
		return 0;
	memcpy(plain, text, len);
	plain[len] = '\0';
	*rest = text + len;
	if (inet_pton(AF_INET6, plain, bytes) == 1 && strcmp(*rest, "%") != 0)
		return AF_INET6;
	return **rest != '%' && inet_pton(AF_INET, plain, bytes) == 1 ? AF_INET : 0;
}

bool
text_is_address(const char *text)
{
	unsigned char bytes[16];
	const char *zone;

	return address_read(text, bytes, &zone) != 0 && *zone != '/';
}

bool
text_same_address(const char *a, const char *b)
{
	unsigned char left[16] = {0}, right[16] = {0};
	const char *left_zone, *right_zone;
	int af = address_read(a, left, &left_zone);

	return af != 0 && af == address_read(b, right, &right_zone) &&
	       memcmp(left, right, sizeof(left)) == 0 && strcmp(left_zone, right_zone) == 0;
}

/* Reads digits, at most `max`. Returns the end of the digits, or NULL. */
static const char *
number_read(const char *text, unsigned long long max, unsigned long long *out)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 10)
		return NULL;
	*out = strtoull(text, NULL, 10);
	return *out <= max ? text + digits : NULL;
}

/* RFC 5396: plain or dotted. */
static bool
text_is_asn(const char *text, unsigned *asn)
{
	unsigned long long high = 0, low;
	const char *end = number_read(text, 4294967295u, &low);

	if (end != NULL && *end == '.') {
		high = low;
		end = high <= 65535 ? number_read(end + 1, 65535, &low) : NULL;
	}
	if (end == NULL || *end != '\0' || (high << 16 | low) == 0)
		return false;
	*asn = (unsigned)(high << 16 | low);
	return true;
}

int
text_prefix(const char *text, unsigned char bytes[16], unsigned *len)
{
	const char *rest, *end;
	unsigned long long n = 0;
	int af = address_read(text, bytes, &rest);

	end = af != 0 && *rest == '/' ? number_read(rest + 1, af == AF_INET ? 32 : 128, &n) : NULL;
	*len = (unsigned)n;
	return end != NULL && *end == '\0' ? af : 0;
}

static bool
is_prefix(const char *text)
{
	unsigned char bytes[16];
	unsigned len;

	return text_prefix(text, bytes, &len) != 0;
}

/* ADMINISTRATOR:NUMBER, or 0x and 16 hexadecimal digits; the daemon checks the values. */
static bool
is_rd(const char *text)
{
	size_t administrator = strspn(text, "0123456789."), number;

	if (strncmp(text, "0x", 2) == 0)
		return strlen(text) == 18 && strspn(text + 2, "0123456789abcdefABCDEF") == 16;
	if (administrator == 0 || text[administrator] != ':')
		return false;
	number = strspn(text + administrator + 1, "0123456789");
	return number > 0 && text[administrator + 1 + number] == '\0';
}

/* keel.json(5), "Rules for all keys". */
static bool
is_name(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	static const char rest[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	static const char *const reserved[] = {
		"all", "external", "internal", "group", "import", "export", "slow-peer"};

	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(text, reserved[i]) == 0)
			return false;
	}
	return strspn(text, letters) > 0 && strlen(text) <= 63 &&
	       text[strspn(text, rest)] == '\0' && !text_is_address(text);
}

static bool
is_asn(const char *text)
{
	unsigned asn;

	return text_is_asn(text, &asn);
}

static bool
is_id(const char *text)
{
	unsigned long long n;
	const char *end = number_read(text, 2147483647, &n);

	return end != NULL && *end == '\0';
}

static bool
is_seconds(const char *text)
{
	unsigned long seconds = is_id(text) ? strtoul(text, NULL, 10) : 0;

	return seconds >= 1 && seconds <= 86400;
}

static bool
is_number(const char *text)
{
	unsigned long long n;
	const char *end = number_read(text, 4294967295u, &n);

	return end != NULL && *end == '\0';
}

static bool
is_path(const char *text)
{
	return *text == '/';
}

static bool
is_length(const char *text)
{
	unsigned long long n;
	const char *end = number_read(text, 128, &n);

	return end != NULL && *end == '\0';
}

/* The length of a mask as 255.255.255.0, or -1. */
static int
mask_length(const char *text)
{
	unsigned char bytes[16];
	const char *zone;
	int length = 0;

	if (address_read(text, bytes, &zone) != AF_INET || *zone != '\0')
		return -1;
	while (length < 32 && (bytes[length / 8] & (0x80u >> (length % 8))))
		length++;
	for (int i = length; i < 32; i++) {
		if (bytes[i / 8] & (0x80u >> (i % 8)))
			return -1;
	}
	return length;
}

static bool
is_mask(const char *text)
{
	return mask_length(text) >= 0;
}

/* Also in quotes `|` begins a filter. */
static bool
is_word(const char *text)
{
	return *text != '\0' && strcmp(text, "|") != 0;
}

/* Any word except the keywords after communities; the daemon checks the value. */
static bool
is_community(const char *text)
{
	static const char *const words[] = {"additive", "delete", "none", "overwrite", "rt", "soo"};

	for (unsigned i = 0; i < COUNT(words); i++) {
		if (strcmp(text, words[i]) == 0)
			return false;
	}
	return is_word(text);
}

enum value_kind {
	V_ADDRESS,
	V_AS_NUMBER,
	V_GROUP,
	V_ID,
	V_JSON,
	V_METHOD,
	V_NAME,
	V_PREFIX,
	V_RD,
	V_SECONDS,
	V_TEXT,
	V_FILE,
	V_COMMAND,
	V_COMMUNITY,
	V_REGEX,
	V_LENGTH,
	V_MASK,
	V_NUMBER,
	V_PATH,
	V_VALUE,
	V_COUNT
};

static const struct {
	const char *text;
	bool (*good)(const char *text);
	const char *name; /* without another in the rule */
} values[V_COUNT] = {
	[V_ADDRESS] = {"ADDRESS", text_is_address, "address"},
	[V_AS_NUMBER] = {"AS-NUMBER", is_asn, "asn"},
	[V_GROUP] = {"GROUP", is_name, "group"},
	[V_ID] = {"ID", is_id, "id"},
	[V_JSON] = {"JSON", is_word, "params"},
	[V_METHOD] = {"METHOD", is_word, "method"},
	[V_NAME] = {"NAME", is_name, "name"},
	[V_PREFIX] = {"PREFIX", is_prefix, "prefix"},
	[V_RD] = {"RD", is_rd, "rd"},
	[V_SECONDS] = {"SECONDS", is_seconds, "seconds"},
	[V_TEXT] = {"TEXT", is_word, "text"},
	[V_FILE] = {"FILE", is_word, "file"},
	[V_COMMAND] = {"COMMAND", is_word, "command"},
	[V_COMMUNITY] = {"COMMUNITY", is_community, "community"},
	[V_REGEX] = {"REGEX", is_word, "as_path"},
	[V_LENGTH] = {"LENGTH", is_length, "length"},
	[V_MASK] = {"MASK", is_mask, "mask"},
	[V_NUMBER] = {"NUMBER", is_number, "value"},
	[V_PATH] = {"PATH", is_path, "path"},
	[V_VALUE] = {"VALUE", is_word, "value"},
};

/* ---- the graph ---- */

enum place_kind { PLACE_JOIN, PLACE_WORD, PLACE_VALUE, PLACE_END };

struct place {
	enum place_kind kind;
	bool once; /* first word of an alternative of <...> */
	bool whole; /* cannot be abbreviated */
	unsigned char value;
	unsigned short rule; /* for an end */
	const char *text; /* word or VALUE: interned, so that pointers can be compared */
	const char *name; /* of a VALUE */
	unsigned short first, last; /* its edges; 0: no edge */
};

struct edge {
	unsigned short to, next;
};

#define PLACES_MAX 4096
#define EDGES_MAX 8192
#define ROOTS_MAX 512
#define TEXTS_MAX 512

/* Built once from constants before the first line is parsed; place 0 and edge 0 are unused. */
static struct {
	struct place place[PLACES_MAX];
	struct edge edge[EDGES_MAX];
	struct {
		unsigned views;
		unsigned short place;
	} root[ROOTS_MAX];
	char *text[TEXTS_MAX];
	unsigned places, edges, roots, texts;
} graph;

static unsigned
place_new(enum place_kind kind)
{
	assert(graph.places < PLACES_MAX);
	graph.place[graph.places].kind = kind;
	return graph.places++;
}

static void
edge_new(unsigned from, unsigned to)
{
	struct place *p = &graph.place[from];

	assert(graph.edges < EDGES_MAX);
	graph.edge[graph.edges].to = (unsigned short)to;
	if (p->first == 0)
		p->first = (unsigned short)graph.edges;
	else
		graph.edge[p->last].next = (unsigned short)graph.edges;
	p->last = (unsigned short)graph.edges++;
}

static const char *
intern(const char *text, size_t len)
{
	for (unsigned i = 0; i < graph.texts; i++) {
		if (strlen(graph.text[i]) == len && memcmp(graph.text[i], text, len) == 0)
			return graph.text[i];
	}
	assert(graph.texts < TEXTS_MAX);
	graph.text[graph.texts] = strndup(text, len);
	if (graph.text[graph.texts] == NULL) {
		fputs("keelctl: out of memory\n", stderr);
		exit(1);
	}
	return graph.text[graph.texts++];
}

/* Adds a word or a VALUE after `tail`. */
static unsigned
build_word(const char **at, unsigned tail, bool once)
{
	size_t len =
		strspn(*at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+");
	unsigned n = place_new(PLACE_WORD);
	struct place *p = &graph.place[n];

	assert(len > 0);
	p->once = once;
	p->text = intern(*at, len);
	for (unsigned v = 0; v < V_COUNT; v++) {
		if (strcmp(values[v].text, p->text) == 0) {
			p->kind = PLACE_VALUE;
			p->value = (unsigned char)v;
			p->name = values[v].name;
		}
	}
	*at += len;
	if (**at == ':') {
		len = strspn(++*at, "abcdefghijklmnopqrstuvwxyz_");
		p->name = intern(*at, len);
		*at += len;
	}
	p->whole = **at == '!';
	*at += p->whole;
	edge_new(tail, n);
	if (strncmp(*at, "...", 3) == 0) {
		edge_new(n, n);
		*at += 3;
	}
	return n;
}

/*
 * Adds a sequence up to a bar, a closing bracket or the end; returns the last place. The recursion
 * depth is the nesting of brackets in the templates.
 */
static unsigned
build(const char **at, unsigned tail, bool once) /* NOLINT(misc-no-recursion) */
{
	while (**at != '\0' && strchr("|}]>", **at) == NULL) {
		char open = **at;
		unsigned join;

		if (open == ' ') {
			++*at;
			continue;
		}
		if (strchr("{[<", open) == NULL) {
			tail = build_word(at, tail, once);
			once = false;
			continue;
		}
		join = place_new(PLACE_JOIN);
		if (open != '{')
			/*
			 * the empty alternative comes first, so that messages list the following
			 * words first
			 */
			edge_new(tail, join);
		do {
			++*at;
			edge_new(build(at, open == '<' ? join : tail, open == '<'), join);
		} while (**at == '|');
		++*at;
		tail = join;
	}
	return tail;
}

static void
build_rule(unsigned rule, bool undo)
{
	const char *at = command_rules[rule].text, *undo_text = "undo";
	unsigned root = place_new(PLACE_JOIN), tail = root, end;

	assert(graph.roots < ROOTS_MAX);
	graph.root[graph.roots].views = command_rules[rule].views;
	graph.root[graph.roots++].place = (unsigned short)root;
	if (undo)
		tail = build_word(&undo_text, tail, false);
	tail = build(&at, tail, false);
	end = place_new(PLACE_END);
	graph.place[end].rule = (unsigned short)rule;
	edge_new(tail, end);
	if (!undo || !command_rules[rule].undo_short)
		return;
	for (unsigned p = root, last = end; p < last; p++)
		for (unsigned e = graph.place[p].first; e != 0; e = graph.edge[e].next)
			if (graph.edge[e].to == tail && graph.place[tail].kind == PLACE_VALUE) {
				edge_new(p, end);
				break;
			}
}

static void
graph_make(void)
{
	if (graph.places != 0)
		return;
	graph.places = graph.edges = 1;
	for (unsigned i = 0; i < command_rule_count; i++)
		build_rule(i, false);
	for (unsigned i = 0; i < command_rule_count; i++) {
		if (command_rules[i].undo)
			build_rule(i, true);
	}
}

/* ---- the walk ---- */

#define SET_MAX 256

/*
 * A possible word, VALUE or end at one position. `from`: index of the predecessor in the set of the
 * previous position.
 */
struct state {
	unsigned short place, from;
};

struct walk {
	struct state set[COMMAND_WORDS_MAX + 1][SET_MAX];
	unsigned count[COMMAND_WORDS_MAX + 1];
	unsigned at; /* the current position */
	unsigned char seen[PLACES_MAX]; /* in this set */
};

static void
add_state(struct walk *w, unsigned place, unsigned from) /* NOLINT(misc-no-recursion) */
{
	const struct place *p = &graph.place[place];

	if (w->seen[place] || w->count[w->at] == SET_MAX)
		return;
	w->seen[place] = 1;
	if (p->kind != PLACE_JOIN) {
		w->set[w->at][w->count[w->at]++] =
			(struct state){(unsigned short)place, (unsigned short)from};
		return;
	}
	for (unsigned e = p->first; e != 0; e = graph.edge[e].next)
		add_state(w, graph.edge[e].to, from);
}

static void
walk_begin(struct walk *w, unsigned view)
{
	graph_make();
	w->at = 0;
	w->count[0] = 0;
	memset(w->seen, 0, sizeof(w->seen));
	for (unsigned i = 0; i < graph.roots; i++) {
		if (graph.root[i].views & view)
			add_state(w, graph.root[i].place, 0);
	}
}

static const struct place *
place_at(const struct walk *w, unsigned at, unsigned i)
{
	return &graph.place[w->set[at][i].place];
}

/* The keyword before position `at` on the path to state `i`; NULL: no keyword. */
static const char *
keyword_before(const struct walk *w, unsigned at, unsigned i)
{
	while (at > 0) {
		const struct place *p;

		i = w->set[at--][i].from;
		p = place_at(w, at, i);
		if (p->kind == PLACE_WORD)
			return p->text;
	}
	return NULL;
}

/* True if an alternative of <...> already occurred on the path. */
static bool
used_before(const struct walk *w, unsigned at, unsigned i)
{
	unsigned place = w->set[at][i].place;

	if (!graph.place[place].once)
		return false;
	while (at > 0) {
		i = w->set[at--][i].from;
		if (w->set[at][i].place == place)
			return true;
	}
	return false;
}

/* Advances the walk by one position through the places with `takes` set. */
static void
walk_advance(struct walk *w, const bool *takes)
{
	unsigned at = w->at++;

	w->count[w->at] = 0;
	memset(w->seen, 0, sizeof(w->seen));
	for (unsigned i = 0; i < w->count[at]; i++) {
		const struct place *p = place_at(w, at, i);

		for (unsigned e = p->first; takes[i] && e != 0; e = graph.edge[e].next)
			add_state(w, graph.edge[e].to, i);
	}
}

/* Sets `takes` for the places that match this keyword in full; returns their count. */
static unsigned
keyword_takes(const struct walk *w, const char *word, bool *takes)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->count[w->at]; i++) {
		const struct place *p = place_at(w, w->at, i);

		takes[i] = p->kind == PLACE_WORD && strcmp(p->text, word) == 0;
		n += takes[i];
	}
	return n;
}

/* ---- errors ---- */

struct fault {
	char *text;
	size_t size;
	unsigned *word; /* number of the wrong word, from 1; may be NULL */
};

static int fault(const struct fault *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int
fault(const struct fault *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, f->size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A fault of the word at position `at`: `word 3 "x"`, and the message. */
static int fault_at(const struct fault *f, unsigned at, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int
fault_at(const struct fault *f, unsigned at, const char *word, const char *fmt, ...)
{
	int len = snprintf(f->text, f->size, "word %u \"%.64s\"", at + 1, word);
	va_list ap;

	if (f->word != NULL)
		*f->word = at + 1;
	va_start(ap, fmt);
	if (len >= 0 && (size_t)len < f->size)
		vsnprintf(f->text + len, f->size - (size_t)len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

struct names {
	const char *name[SET_MAX];
	unsigned count;
};

static void
names_add(struct names *n, const char *name)
{
	for (unsigned i = 0; i < n->count; i++) {
		if (n->name[i] == name)
			return;
	}
	n->name[n->count++] = name;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * The possible words, without duplicates: VALUES by name, then keywords that begin with the first
 * `len` characters of `word`, in the order of the table.
 */
static void
names_of(const struct walk *w, struct names *n, bool with_values, const char *word, size_t len)
{
	n->count = 0;
	for (unsigned i = 0; with_values && i < w->count[w->at]; i++) {
		if (place_at(w, w->at, i)->kind == PLACE_VALUE)
			names_add(n, place_at(w, w->at, i)->text);
	}
	qsort(n->name, n->count, sizeof(n->name[0]), by_text);
	for (unsigned i = 0; i < w->count[w->at]; i++) {
		const struct place *p = place_at(w, w->at, i);

		if (p->kind == PLACE_WORD && strncmp(p->text, word, len) == 0 &&
			(!p->whole || len == 0) && !used_before(w, w->at, i))
			names_add(n, p->text);
	}
}

#define NAMES_SHOWN 8

/* "a, b or c"; of many: "a, b or 7 more", first the names with the first letter of `word`. */
static const char *
names_text(const struct names *n, const char *word, char *buf, size_t size)
{
	unsigned shown = 0;
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < 2 * n->count && shown < NAMES_SHOWN && at < size; i++) {
		const char *name = n->name[i % n->count];

		if ((*name == *word) != (i < n->count))
			continue;
		at += (size_t)snprintf(buf + at, size - at, "%s%s",
			shown == 0	       ? ""
			: shown + 1 < n->count ? ", "
					       : " or ",
			name);
		shown++;
	}
	if (n->count > NAMES_SHOWN && at < size)
		snprintf(buf + at, size - at, " or %u more", n->count - NAMES_SHOWN);
	return buf;
}

/* Error for an incomplete line. */
static int
incomplete(const struct walk *w, char *const *words, unsigned count, const struct fault *f)
{
	char wanted[640], before[256] = "";
	struct names n;
	size_t at = 0;

	names_of(w, &n, true, "", 0);
	names_text(&n, "", wanted, sizeof(wanted));
	for (unsigned i = 0; i < count && at < sizeof(before); i++)
		at += (size_t)snprintf(
			before + at, sizeof(before) - at, "%s%s", i > 0 ? " " : "", words[i]);
	*f->word = count + 1;
	return fault(f, "expected %s after \"%s\"", wanted, before);
}

static const char *
view_name(unsigned views)
{
	return views & VIEW_USER     ? "user view"
	       : views & VIEW_SYSTEM ? "system view"
	       : views & VIEW_BGP    ? "BGP view"
	       : views & VIEW_POLICY ? "view of a route policy"
				     : "family views";
}

/*
 * The first view in which a misplaced first word (or the word after `undo`) is valid. 0: no view.
 */
static unsigned
view_of(char *const *words, unsigned at)
{
	static const unsigned order[] = {
		VIEW_USER, VIEW_SYSTEM, VIEW_BGP, VIEW_FAMILY, VIEW_POLICY};
	struct walk *w = at < 2 ? malloc(sizeof(*w)) : NULL;
	unsigned found = 0;

	for (unsigned v = 0; w != NULL && v < COUNT(order) && found == 0; v++) {
		bool takes[SET_MAX];

		walk_begin(w, order[v]);
		if (at == 1 && keyword_takes(w, words[0], takes) > 0)
			walk_advance(w, takes);
		if (w->at == at && keyword_takes(w, words[at], takes) > 0)
			found = order[v];
	}
	free(w);
	return found;
}

static int
unexpected(const struct walk *w, char *const *words, const struct fault *f)
{
	const char *word = words[w->at];
	unsigned views = view_of(words, w->at);
	char wanted[640];
	struct names n;

	names_of(w, &n, true, "", 0);
	if (n.count == 0)
		return fault_at(f, w->at, word, ": nothing may follow here");
	if (views != 0)
		return fault_at(f, w->at, word, " belongs to the %s; here expected %s",
			view_name(views), names_text(&n, word, wanted, sizeof(wanted)));
	return fault_at(
		f, w->at, word, ": expected %s", names_text(&n, word, wanted, sizeof(wanted)));
}

/* ---- words ---- */

static bool
place_takes(const struct place *p, const char *word)
{
	return p->kind == PLACE_WORD ? strcmp(p->text, word) == 0
				     : p->kind == PLACE_VALUE && values[p->value].good(word);
}

/* Finds a full keyword; otherwise a value; otherwise a unique abbreviation. */
static int
word_find(const struct walk *w, char *const *words, bool *takes, const struct fault *f)
{
	static const enum place_kind kinds[] = {PLACE_WORD, PLACE_VALUE};
	const char *word = words[w->at];
	unsigned found = 0, set = w->count[w->at];
	char could_be[640];
	struct names n;

	for (unsigned k = 0; k < COUNT(kinds) && found == 0; k++) {
		for (unsigned i = 0; i < set; i++) {
			takes[i] = place_at(w, w->at, i)->kind == kinds[k] &&
				   place_takes(place_at(w, w->at, i), word);
			found += takes[i];
			if (takes[i] && used_before(w, w->at, i))
				return fault_at(f, w->at, word, " is repeated");
		}
	}
	if (found > 0)
		return 0;
	names_of(w, &n, false, word, strlen(word));
	if (n.count == 0 || *word == '\0')
		return unexpected(w, words, f);
	if (n.count > 1)
		return fault_at(f, w->at, word, " is ambiguous: %s",
			names_text(&n, word, could_be, sizeof(could_be)));
	for (unsigned i = 0; i < set; i++)
		takes[i] = place_at(w, w->at, i)->text == n.name[0];
	return 0;
}

static int
walk_words(struct walk *w, unsigned view, char *const *words, unsigned count, const struct fault *f)
{
	bool takes[SET_MAX];

	walk_begin(w, view);
	for (unsigned i = 0; i < count; i++) {
		int err;

		if (i == COMMAND_WORDS_MAX)
			return fault_at(f, i, words[i], ": nothing may follow here");
		err = word_find(w, words, takes, f);
		if (err != 0)
			return err;
		walk_advance(w, takes);
	}
	return 0;
}

/* ---- interpretation ---- */

static const char *const family_words[][2] = {{"ip", "ipv4-unicast"}, {"ipv4", "ipv4-unicast"},
	{"ipv6", "ipv6-unicast"}, {"ipv4-family", "ipv4-unicast"}, {"ipv6-family", "ipv6-unicast"},
	{"vpnv4", "vpnv4-unicast"}, {"vpnv6", "vpnv6-unicast"}};

const char *
arg(const struct command *c, const char *name)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (c->word[i].name != NULL && strcmp(c->word[i].name, name) == 0)
			return c->word[i].text;
	}
	return NULL;
}

const char *
arg_at(const struct command *c, unsigned i)
{
	for (unsigned at = 0; at < c->count; at++) {
		if (c->word[at].name != NULL && i-- == 0)
			return c->word[at].text;
	}
	return NULL;
}

bool
args_text(const struct command *c, char *buf, size_t size)
{
	size_t at = 0;

	*buf = '\0';
	for (unsigned i = 0; arg_at(c, i) != NULL && at < size; i++)
		at += (size_t)snprintf(buf + at, size - at, "%s%s", i > 0 ? " " : "", arg_at(c, i));
	return at < size;
}

unsigned long long
arg_number(const struct command *c, const char *name)
{
	const char *text = arg(c, name);

	return text != NULL ? strtoull(text, NULL, 10) : 0;
}

const char *
keyword(const struct command *c, const char *keywords)
{
	for (size_t len; *keywords != '\0'; keywords += len + (keywords[len] == '|')) {
		len = strcspn(keywords, "|");
		for (unsigned i = 0; i < c->count; i++) {
			const char *text = c->word[i].text;

			if (c->word[i].name == NULL && strncmp(text, keywords, len) == 0 &&
				text[len] == '\0')
				return text;
		}
	}
	return NULL;
}

unsigned
command_asn(const struct command *c)
{
	const char *text = arg(c, "asn");
	unsigned asn = 0;

	if (text != NULL)
		text_is_asn(text, &asn);
	return asn;
}

static void
interpret_word(struct command *c, const char *word)
{
	size_t at = strlen(c->phrase);

	if (c->count == 0 && !c->undo && strcmp(word, "undo") == 0) {
		c->undo = true;
		return;
	}
	c->word[c->count++].text = word;
	snprintf(c->phrase + at, sizeof(c->phrase) - at, "%s%s", at > 0 ? " " : "", word);
	for (unsigned i = 0; i < COUNT(family_words); i++) {
		if (strcmp(family_words[i][0], word) == 0)
			c->family = family_words[i][1];
	}
}

/* A length or a mask makes a prefix of the address before. */
static void
interpret_value(struct command *c, const struct place *p, const char *text)
{
	unsigned i = c->count;

	if (p->value == V_LENGTH || p->value == V_MASK) {
		while (i > 0 && (c->word[i - 1].name == NULL ||
					strcmp(c->word[i - 1].name, "address") != 0))
			i--;
		if (i-- == 0)
			return;
		snprintf(c->prefix, sizeof(c->prefix), "%.45s/%d", c->word[i].text,
			p->value == V_MASK ? mask_length(text) : (int)strtol(text, NULL, 10));
		c->word[i].name = "prefix";
		c->word[i].text = c->prefix;
	} else {
		c->word[c->count].name = p->name;
		c->word[c->count++].text = text;
	}
}

static bool
is(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

/* Clears the bits beyond the length; false if there were any. */
static bool
host_bits_clear(unsigned char *bytes, unsigned octets, unsigned len)
{
	bool clear = true;

	for (unsigned i = 0; i < octets; i++) {
		unsigned keep = len >= 8 * (i + 1) ? 8 : len > 8 * i ? len - 8 * i : 0;
		unsigned char mask = (unsigned char)(0xff00u >> keep);

		clear &= (bytes[i] & ~mask & 0xff) == 0;
		bytes[i] &= mask;
	}
	return clear;
}

/* The words of a line, for their positions in messages. */
struct line {
	char *const *words;
	unsigned count;
};

static unsigned
position_of(const struct line *l, const char *word)
{
	unsigned i = 0;

	while (i < l->count && l->words[i] != word)
		i++;
	if (i < l->count)
		return i;
	/* a prefix written as address and length or mask: the address */
	for (i = 0; i < l->count; i++) {
		size_t len = strlen(l->words[i]);

		if (strncmp(word, l->words[i], len) == 0 && word[len] == '/')
			break;
	}
	return i;
}

/* Notes the last word that may abbreviate the keyword, or is it, as the wrong one. */
static const char *
at_keyword(const struct line *l, const struct fault *f, const char *keyword)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (strncmp(keyword, l->words[i], strlen(l->words[i])) == 0)
			*f->word = i + 1;
	}
	return keyword;
}

static int
check_host_bits(const char *prefix, const struct line *l, const struct fault *f)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	unsigned len;
	int af = text_prefix(prefix, bytes, &len);

	if (af == 0 || host_bits_clear(bytes, af == AF_INET ? 4 : 16, len))
		return 0;
	inet_ntop(af, bytes, text, sizeof(text));
	return fault_at(f, position_of(l, prefix), prefix,
		" has host bits (set beyond its length): expected %s/%u", text, len);
}

static const char *
unicast_of(const char *address)
{
	return strchr(address, ':') != NULL ? "ipv6-unicast" : "ipv4-unicast";
}

static bool
is_vpn(const char *family)
{
	return is(family, "vpnv4-unicast") || is(family, "vpnv6-unicast");
}

/* True if the family has prefixes of this address or prefix. */
static bool
family_holds(const char *family, const char *subject)
{
	bool v6 = strchr(subject, ':') != NULL;

	return is(family, v6 ? "ipv6-unicast" : "ipv4-unicast") ||
	       is(family, v6 ? "vpnv6-unicast" : "vpnv4-unicast");
}

/*
 * Sets the family of a command (keelctl(1)). Without a word for the family: the family of the
 * prefix or address to look up, otherwise ipv4-unicast; for an IPv6 peer without ipv4-unicast,
 * ipv6-unicast.
 */
static int
interpret_family(struct command *c, const struct line *l, const struct fault *f)
{
	const char *subject = arg(c, "prefix"), *peer = arg(c, "peer");
	bool of_peers = c->rule->family == FAMILY_OF_PEERS;

	if (subject == NULL)
		subject = arg(c, "address");
	if (subject != NULL && c->family != NULL && !family_holds(c->family, subject))
		return fault_at(f, position_of(l, subject), subject, " is not of %s", c->family);
	if (c->family != NULL)
		return 0;
	if (subject == NULL && !of_peers)
		subject = peer;
	c->family = subject != NULL ? unicast_of(subject) : "ipv4-unicast";
	c->or_ipv6 = of_peers && peer != NULL && strchr(peer, ':') != NULL;
	return 0;
}

static int
check_routes(const struct command *c, const struct line *l, const struct fault *f)
{
	const char *address = arg(c, "address"),
		   *advertised = keyword(c, "advertised|advertised-routes"),
		   *received = keyword(c, "received|received-routes");
	bool vpn = is_vpn(c->family), rd = arg(c, "rd") != NULL;

	if (rd && !vpn)
		return fault(f, "\"%s\" is only valid with \"vpnv4\" and \"vpnv6\"",
			at_keyword(l, f, "rd"));
	if (keyword(c, "fate|history") != NULL && vpn && !rd)
		return fault(f,
			"\"%s\" is only valid with \"rd RD\": each route distinguisher has a route "
			"of its own",
			at_keyword(l, f, keyword(c, "fate|history")));
	if (address != NULL && vpn && !rd)
		return fault(f,
			"\"%.64s\" is only valid with \"rd RD\": each route distinguisher has a "
			"longest match of its own",
			at_keyword(l, f, address));
	if (address != NULL && (keyword(c, "longer|longer-prefixes|count|statistics|advertised|"
					   "received|community|as-path|peer") != NULL))
		return fault(f,
			"\"%.64s\": expected a prefix with its length, because other words follow",
			at_keyword(l, f, address));
	if ((advertised != NULL || received != NULL) && arg(c, "peer") == NULL)
		return fault(f, "\"%s\" is only valid with \"peer ADDRESS\"",
			at_keyword(l, f, advertised != NULL ? "advertised" : "received"));
	if (advertised != NULL && received != NULL)
		return fault(f, "\"advertised\" and \"%s\" exclude each other",
			at_keyword(l, f, "received"));
	return 0;
}

static int
interpret(const struct walk *w, unsigned end, char *const *words, unsigned count, struct command *c,
	const struct fault *f)
{
	const struct line l = {words, count};
	unsigned way[COMMAND_WORDS_MAX + 1], i = end;
	const char *prefix;

	for (unsigned at = count; at > 0; at--)
		way[at - 1] = i = w->set[at][i].from;
	c->rule = &command_rules[place_at(w, count, end)->rule];
	for (unsigned at = 0; at < count; at++) {
		const struct place *p = place_at(w, at, way[at]);

		if (p->kind == PLACE_WORD)
			interpret_word(c, p->text);
		else
			interpret_value(c, p, words[at]);
	}
	prefix = arg(c, "prefix");
	if (prefix == c->prefix && !is_prefix(prefix))
		return fault_at(f, position_of(&l, prefix), prefix, " is not a prefix");
	if ((prefix != NULL && check_host_bits(prefix, &l, f) != 0) ||
		(c->rule->family != FAMILY_NO && interpret_family(c, &l, f) != 0))
		return -EINVAL;
	return c->rule->family == FAMILY_OF_ROUTES ? check_routes(c, &l, f) : 0;
}

/* ---- commands ---- */

int
command_parse(unsigned view, char *const *words, unsigned count, struct command *out, char *error,
	size_t size)
{
	const struct fault f = {error, size, &out->wrong};
	struct walk *w = malloc(sizeof(*w));
	int err;

	*out = (struct command){0};
	if (w == NULL)
		return fault(&f, "out of memory");
	err = walk_words(w, view, words, count, &f);
	for (unsigned i = 0; err == 0; i++) {
		if (i == w->count[w->at]) {
			err = incomplete(w, words, count, &f);
		} else if (place_at(w, w->at, i)->kind == PLACE_END) {
			err = interpret(w, i, words, count, out, &f);
			break;
		}
	}
	free(w);
	return err;
}

static bool
choice_known(const struct command_choice *out, unsigned n, const char *text)
{
	for (unsigned i = 0; i < n; i++) {
		if (out[i].text == text)
			return true;
	}
	return false;
}

unsigned
command_choices(unsigned view, char *const *words, unsigned count,
	struct command_choice out[COMMAND_CHOICES_MAX], char *error, size_t size)
{
	const struct fault f = {error, size, NULL};
	struct walk *w = malloc(sizeof(*w));
	unsigned n = 0, bar = count;
	bool ends = false;

	while (bar > 0 && strcmp(words[bar - 1], "|") != 0)
		bar--;
	if (bar > 0)
		view = VIEW_FILTER;
	words += bar;
	count -= bar;
	if (w == NULL)
		fault(&f, "out of memory");
	else if (walk_words(w, view, words, count, &f) == 0)
		for (unsigned i = 0; i < w->count[w->at] && n < COMMAND_CHOICES_MAX; i++) {
			const struct place *p = place_at(w, w->at, i);

			ends |= p->kind == PLACE_END;
			if (!choice_known(out, n, p->text) && !used_before(w, w->at, i))
				out[n++] = (struct command_choice){
					p->text, p->name, keyword_before(w, w->at, i)};
		}
	if (ends && n < COMMAND_CHOICES_MAX)
		out[n++] = (struct command_choice){"|", NULL, NULL};
	free(w);
	return n;
}

/* ---- lines ---- */

/* Unquotes a quoted part in place; writes to `out`. 0, -EINVAL. */
static int
split_quoted(char **at, char **out)
{
	char quote = *(*at)++;

	while (**at != quote) {
		if (quote == '"' && **at == '\\' && ((*at)[1] == '"' || (*at)[1] == '\\'))
			++*at;
		if (**at == '\0')
			return -EINVAL;
		*(*out)++ = *(*at)++;
	}
	++*at;
	return 0;
}

/* Copies JSON up to its closing bracket. */
static int
split_json(char **at, char **out)
{
	bool quoted = false;
	unsigned depth = 0;

	do {
		if (**at == '\0')
			return -EINVAL;
		if (**at == '\\' && quoted && (*at)[1] != '\0')
			*(*out)++ = *(*at)++;
		else if (**at == '"')
			quoted = !quoted;
		else if (!quoted)
			depth += (**at == '{' || **at == '[') -
				 (unsigned)(**at == '}' || **at == ']');
		*(*out)++ = *(*at)++;
	} while (depth > 0 || quoted);
	return 0;
}

static bool
is_end(char c)
{
	return c == '\0' || c == ';' || c == '\n';
}

/* Copies one word, up to its end at *at. */
static int
split_word(char **at, char **out)
{
	int err = 0;

	if (**at == '{')
		return split_json(at, out);
	/* a list, or a regular expression that begins with a class: [0-9]+_1$ */
	if (**at == '[')
		err = split_json(at, out);
	while (err == 0 && !is_end(**at) && !isspace((unsigned char)**at)) {
		if (**at == '"' || **at == '\'')
			err = split_quoted(at, out);
		else
			*(*out)++ = *(*at)++;
	}
	return err;
}

/* Skips to the next command: *at is a `;`, a newline, a comment or the end. */
static char *
split_rest(char *at)
{
	if (*at == '#')
		at += strcspn(at, "\n");
	return *at == '\0' ? NULL : at + 1;
}

int
command_split(char **line, char *words[COMMAND_WORDS_MAX], char *error, size_t size)
{
	const struct fault f = {error, size, NULL};
	char *at = *line, *next;
	int n = 0;

	for (;;) {
		char *out, end;

		at += strspn(at, " \t\r\v\f");
		if (is_end(*at) || *at == '#')
			break;
		if (n == COMMAND_WORDS_MAX) {
			fault(&f, "more than %d words", COMMAND_WORDS_MAX);
			return -E2BIG;
		}
		words[n++] = out = at;
		if (split_word(&at, &out) != 0)
			return fault(&f, "word %d: a quote or a bracket is not closed", n);
		end = *at;
		next = is_end(end) ? split_rest(at) : at + 1;
		*out = '\0';
		if (is_end(end)) {
			*line = next;
			return n;
		}
		if (!isspace((unsigned char)end)) /* directly after a closing bracket */
			return fault(&f,
				"word %d: expected a blank after the closing quote or bracket", n);
		at++;
	}
	*line = split_rest(at);
	return n;
}

int
command_parse_line(unsigned view, char *line, struct command *out, char *error, size_t size)
{
	char *words[COMMAND_WORDS_MAX];
	int err = -ENODATA;

	while (line != NULL) {
		int n = command_split(&line, words, error, size);

		if (n > 0)
			n = command_parse(view, words, (unsigned)n, out, error, size), err = n;
		if (n < 0)
			return n;
	}
	return err;
}
