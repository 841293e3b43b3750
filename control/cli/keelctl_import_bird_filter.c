/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters and functions of BIRD as route policies. A policy is a list of nodes with conditions, changes
 * and forward jumps (`goto`), so if, else, case, && and || become jumps, and functions are inlined. The
 * conditions of a policy see the route as it was before the policy: a condition on an attribute that the
 * filter may have changed before is not carried. Where a statement is not carried the policy rejects.
 */
#include "control/cli/keelctl_import_bird.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#define DEPTH_MAX 64 /* of statements, expressions and calls together */
#define STEPS_MAX 200000 /* statements and operands of one filter, functions inlined */
#define EXPANDED_MAX 4096 /* communities of one element of a set */
#define NO_LABEL (-1)

/* What conditions read and statements change. */
enum attribute {
	A_PATH = 1 << 0,
	A_COMMUNITIES = 1 << 1,
	A_LARGE = 1 << 2,
	A_EXT = 1 << 3,
	A_LOCAL_PREF = 1 << 4,
	A_MED = 1 << 5,
	A_ORIGIN = 1 << 6,
	A_NEXT_HOP = 1 << 7,
};

enum operand_kind {
	O_BAD,
	O_CONDITION,
	O_NET,
	O_NET_LEN,
	O_NET_TYPE,
	O_PATH,
	O_PATH_LEN,
	O_PATH_FIRST,
	O_PATH_LAST,
	O_COMMUNITIES, /* of three kinds; `text`: the key of a list */
	O_LOCAL_PREF,
	O_ORIGIN,
	O_NEXT_HOP,
	O_SOURCE,
	O_PROTO,
	O_ROA, /* `text`: the family of the table */
	O_NUMBER,
	O_PREFIX, /* `value`: entries of a prefix list */
	O_ADDRESS,
	O_TEXT,
	O_COMMUNITY, /* `text`: the key; `value`: an array of texts */
	O_SET, /* `value`: elements; `element`: their kind */
	O_MASK, /* `text`: a regular expression */
	O_WORD, /* a constant of BIRD */
};

struct condition {
	enum { C_TRUE, C_FALSE, C_LEAF, C_NOT, C_AND, C_OR, C_CALL } kind;
	json_t *match; /* of a leaf: members of `match` */
	unsigned reads; /* of the leaf */
	json_t *values; /* of a leaf on communities: which ones */
	struct condition *a, *b;
	struct bird_definition *function;
	struct scope *scope; /* the parameters of the call */
};

struct operand {
	enum operand_kind kind, element;
	json_t *value;
	json_int_t number;
	const char *text, *name; /* name: of the constant */
	struct condition *condition;
};

/* A name with a value; the value is read in `scope`. A variable without a value has an empty range. */
struct scope {
	const char *name;
	struct bird_range value;
	struct scope *scope, *next;
};

struct cell {
	struct cell *next;
	union {
		struct condition condition;
		struct scope scope;
	} u;
};

struct program {
	struct bird *b;
	const char *name;
	json_t *nodes; /* with the key "label" in place of "goto" */
	json_t *pending; /* changes that are not in a node yet */
	struct label {
		int place; /* index of a node; -1: not placed */
		bool used;
	} * label;
	int label_count;
	unsigned changed; /* enum attribute: what the filter may have changed so far */
	json_t *touched; /* communities that the filter may have added or removed so far */
	bool reachable, validation;
	unsigned depth, steps, lists; /* lists: made for this policy */
	int return_true, return_false; /* in a function */
	struct scope *scope;
	struct cell *cells;
	const char *why; /* why the present statement is not carried */
	bool no_memory;
};

static struct condition *expression(struct program *p);
static void statement(struct program *p);
static struct operand operand(struct program *p);
static void declarations(struct program *p, struct bird_range header);

static struct cell *
cell(struct program *p)
{
	struct cell *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->next = p->cells;
	p->cells = c;
	return c;
}

static struct condition *
condition(struct program *p, int kind)
{
	struct condition *c = &cell(p)->u.condition;

	c->kind = kind;
	return c;
}

static struct condition *
combined(struct program *p, int kind, struct condition *a, struct condition *b)
{
	struct condition *c = condition(p, kind);

	c->a = a;
	c->b = b;
	return c;
}

/* A condition of one member of `match`; takes `value`. */
static struct condition *
leaf(struct program *p, const char *key, json_t *value, unsigned reads)
{
	struct condition *c = condition(p, C_LEAF);

	c->match = bird_keep(p->b, json_object());
	json_object_set_new(c->match, key, value);
	c->reads = reads;
	return c;
}

/* NULL, with the reason. */
static void *
bad(struct program *p, const char *why)
{
	if (p->why == NULL)
		p->why = why;
	return NULL;
}

static struct operand
bad_operand(struct program *p, const char *why)
{
	bad(p, why);
	return (struct operand){O_BAD};
}

/* ---- nodes ---- */

static int
label(struct program *p)
{
	struct label *l = realloc(p->label, ((size_t)p->label_count + 1) * sizeof(*l));

	if (l == NULL)
		abort();
	p->label = l;
	l[p->label_count] = (struct label){-1, false};
	return p->label_count++;
}

static void
append(struct program *p, const char *action, json_t *match, json_t *set, int to)
{
	json_t *node = json_pack("{s:s}", "action", action);

	if (match != NULL && json_object_size(match) > 0)
		json_object_set(node, "match", match);
	if (set != NULL && json_object_size(set) > 0 && is(action, "permit"))
		json_object_set(node, "set", set);
	if (to != NO_LABEL) {
		json_object_set_new(node, "label", json_integer(to));
		p->label[to].used = true;
	}
	json_array_append_new(p->nodes, node);
}

/* Writes the pending changes to a node that continues at the next node. */
static void
flush(struct program *p)
{
	if (json_object_size(p->pending) == 0)
		return;
	if (p->reachable) {
		int next = label(p);

		append(p, "permit", NULL, p->pending, next);
		p->label[next].place = (int)json_array_size(p->nodes);
	}
	json_decref(p->pending);
	p->pending = json_object();
}

/* An unconditional end of this path: permit, deny, or a jump. */
static void
leave(struct program *p, const char *action, int to)
{
	if (p->reachable)
		append(p, action, NULL, p->pending, to);
	json_decref(p->pending);
	p->pending = json_object();
	p->reachable = false;
}

static void
place(struct program *p, int l)
{
	if (!p->label[l].used)
		return;
	flush(p);
	p->label[l].place = (int)json_array_size(p->nodes);
	p->reachable = true;
}

/* ---- conditions ---- */

/* The condition as members of one `match`, or NULL. */
static json_t *
simple(struct program *p, const struct condition *c)
{
	json_t *a, *b, *value, *e;
	const char *key;
	size_t i;

	if (c->kind == C_LEAF)
		return c->match;
	if (c->kind != C_AND && c->kind != C_OR)
		return NULL;
	a = simple(p, c->a);
	b = simple(p, c->b);
	if (a == NULL || b == NULL)
		return NULL;
	if (c->kind == C_AND) {
		json_object_foreach(b, key, value)
		{
			if (json_object_get(a, key) != NULL)
				return NULL;
		}
		a = bird_keep(p->b, json_copy(a));
		json_object_update(a, b);
		return a;
	}
	if (json_object_size(a) != 1 || json_object_size(b) != 1)
		return NULL;
	key = json_object_iter_key(json_object_iter(a));
	value = json_object_get(b, key);
	if (value == NULL)
		return NULL;
	a = json_deep_copy(json_object_get(a, key));
	if (!json_is_array(a))
		a = json_pack("[o]", a);
	if (!json_is_array(value))
		value = bird_keep(p->b, json_pack("[O]", value));
	json_array_foreach(value, i, e)
	{
		bool have = false;

		for (size_t k = 0; k < json_array_size(a); k++)
			have = have || json_equal(json_array_get(a, k), e);
		if (!have)
			json_array_append(a, e);
	}
	if (json_array_size(a) == 1) {
		e = json_incref(json_array_get(a, 0));
		json_decref(a);
		a = e;
	}
	b = bird_keep(p->b, json_object());
	json_object_set_new(b, key, a);
	return b;
}

/* Communities of one kind have one count of colons, and an extended one begins with a letter. */
static unsigned
community_kind(const char *text)
{
	unsigned colons = 0;

	for (const char *at = text; *at != 0; at++)
		colons += *at == ':';
	return *text >= 'a' ? 10 : colons;
}

/* Takes a part of a community: a number, a range, or all numbers. Words are 0. */
static const char *
part_of(const char *text, unsigned long long *low, unsigned long long *high)
{
	char *end;

	*low = 0;
	*high = UINT32_MAX;
	if (*text != '*') {
		*low = *high = strtoull(text, &end, 10);
		if (*end == '-')
			*high = strtoull(end + 1, &end, 10);
	}
	text += strcspn(text, ":");
	return *text == ':' ? text + 1 : text;
}

/* True if some community is one of both texts. */
static bool
overlaps(const char *a, const char *b)
{
	unsigned long long low, high, low2, high2;

	if (community_kind(a) != community_kind(b))
		return false;
	while (*a != '\0' && *b != '\0') {
		if (*a >= 'a' && *a != *b) /* rt, soo */
			return false;
		a = part_of(a, &low, &high);
		b = part_of(b, &low2, &high2);
		if (low > high2 || low2 > high)
			return false;
	}
	return true;
}

/* True if the filter may have added or removed a community that the text stands for. */
static bool
is_touched(const struct program *p, const char *text)
{
	const char *other;
	json_t *v;

	if (json_object_get(p->touched, text) != NULL)
		return true;
	json_object_foreach(p->touched, other, v)
	{
		if ((strpbrk(text, "*-") != NULL || strpbrk(other, "*-") != NULL) &&
			overlaps(text, other))
			return true;
	}
	return false;
}

/* The condition sees something that the filter may have changed before. */
static bool
is_changed(const struct program *p, const struct condition *c)
{
	json_t *v;
	size_t i;

	json_array_foreach(c->values, i, v)
	{
		if (is_touched(p, json_string_value(v)))
			return true;
	}
	return (c->reads & p->changed) != 0 || (c->a != NULL && is_changed(p, c->a)) ||
	       (c->b != NULL && is_changed(p, c->b));
}

static void
call(struct program *p, const struct condition *c, int yes, int no)
{
	struct bird_definition *f = c->function;
	unsigned at = p->b->at, end = p->b->end;
	int old_yes = p->return_true, old_no = p->return_false;
	struct scope *old = p->scope;

	f->used = true;
	p->return_true = yes;
	p->return_false = no;
	p->scope = c->scope;
	declarations(p, f->header);
	p->b->at = f->value.at;
	p->b->end = f->value.end;
	statement(p);
	p->b->at = at;
	p->b->end = end;
	p->return_true = old_yes;
	p->return_false = old_no;
	p->scope = old;
}

/* Jumps to `yes` or `no`; one of them may be `next`, the label that is placed next. */
static void
branch(struct program *p, const struct condition *c, int yes, int no, int next)
{
	json_t *match = simple(p, c);
	int middle;

	if (match != NULL) {
		flush(p);
		if (p->reachable)
			append(p, "permit", match, NULL, yes);
		if (no == next)
			p->label[no].used |= p->reachable;
		else
			leave(p, "permit", no);
		return;
	}
	switch (c->kind) {
	case C_TRUE:
	case C_FALSE:
		if ((c->kind == C_TRUE ? yes : no) == next)
			p->label[next].used |= p->reachable;
		else
			leave(p, "permit", c->kind == C_TRUE ? yes : no);
		break;
	case C_NOT:
		branch(p, c->a, no, yes, next);
		break;
	case C_AND:
		middle = label(p);
		branch(p, c->a, middle, no, middle);
		p->reachable = false;
		place(p, middle);
		branch(p, c->b, yes, no, next);
		break;
	case C_OR:
		middle = label(p);
		branch(p, c->a, yes, middle, middle);
		p->reachable = false;
		place(p, middle);
		branch(p, c->b, yes, no, next);
		break;
	case C_CALL:
		call(p, c, yes, no);
		/* BIRD rejects where a function that must have a value has none */
		leave(p, "deny", NO_LABEL);
		break;
	case C_LEAF:
		break;
	}
}

/* ---- lists ---- */

/* A new list of the document, or the one with the name of the constant. *fresh: has no entries yet. */
static json_t *
list(struct program *p, const char *section, const char *name, const char *kind, bool *fresh,
	char buf[64])
{
	json_t *sections = import_made(p->b->im->document, section, json_array()), *l;

	char original[256];
	bool letter = name != NULL && (*name | 32) >= 'a' && (*name | 32) <= 'z';

	snprintf(buf, 64, "%s%.40s%s%s", letter ? "" : "n-", name != NULL ? name : "",
		*kind != '\0' ? "-" : "", kind);
	/* other names can have the same beginning */
	snprintf(original, sizeof(original), "list %s %s", name != NULL ? name : "", kind);
	if (name != NULL)
		import_unique(p->b->im, original, buf);
	while (name == NULL && (snprintf(buf, 64, "%.40s-%u", p->name, ++p->lists),
				       import_named(sections, "name", buf) != NULL))
		;
	l = import_named(sections, "name", buf);
	*fresh = l == NULL;
	if (l == NULL) {
		l = json_pack("{s:s, s:[]}", "name", buf, "entries");
		json_array_append_new(sections, l);
	}
	return json_object_get(l, "entries");
}

/* A list without a name of its own that has the entries of one of the last lists is removed. */
static void
share(struct program *p, const char *section, const char *name, char buf[64])
{
	json_t *lists = json_object_get(p->b->im->document, section), *mine, *other;
	size_t n = json_array_size(lists);

	if (name != NULL || n < 2)
		return;
	mine = json_object_get(json_array_get(lists, n - 1), "entries");
	for (size_t i = n - 1; i-- > (n > 64 ? n - 64 : 0);) {
		other = json_array_get(lists, i);
		if (!json_equal(json_object_get(other, "entries"), mine))
			continue;
		snprintf(buf, 64, "%s", json_string_value(json_object_get(other, "name")));
		json_array_remove(lists, n - 1);
		p->lists--;
		return;
	}
}

static void
entry(json_t *entries, const char *key, const char *value)
{
	json_array_append_new(entries, json_pack("{s:s, s:s}", "action", "permit", key, value));
}

/* A condition on the prefix (or the next hop) with entries of a prefix list. */
static struct condition *
on_prefixes(struct program *p, const char *key, const struct operand *o, unsigned read)
{
	char name[64];
	bool fresh;
	json_t *entries = list(p, "prefix_lists", o->name, "", &fresh, name), *e;
	size_t i;

	if (fresh) {
		json_array_foreach(o->value, i, e)
		{
			json_t *copy = json_copy(e);

			json_object_set_new(copy, "action", json_string("permit"));
			json_array_append_new(entries, copy);
		}
	}
	share(p, "prefix_lists", o->name, name);
	return leaf(p, key, json_string(name), read);
}

/* Lengths of both families. */
static struct condition *
on_lengths(struct program *p, json_int_t low, json_int_t high)
{
	struct operand o = {.kind = O_SET, .value = bird_keep(p->b, json_array())};

	if (low > high || low > 128)
		return condition(p, C_FALSE);
	if (low <= 32)
		json_array_append_new(
			o.value, json_pack("{s:s, s:I, s:I}", "prefix", "0.0.0.0/0", "ge", low,
					 "le", high > 32 ? (json_int_t)32 : high));
	json_array_append_new(o.value, json_pack("{s:s, s:I, s:I}", "prefix", "::/0", "ge", low,
					       "le", high > 128 ? (json_int_t)128 : high));
	return on_prefixes(p, "prefix_list", &o, 0);
}

/*
 * Appends regular expressions for the numbers from `low` to `high`: blocks of a power of ten, with the
 * digits before the block as a class.
 */
static void
number_regexes(json_t *out, unsigned long long low, unsigned long long high, const char *before,
	const char *after)
{
	while (low <= high) {
		unsigned long long block = 1, first, last;
		unsigned zeros = 0;
		char text[160], digits[40] = "";

		while (low > 0 && low % (block * 10) == 0 && low + block * 10 - 1 <= high) {
			block *= 10;
			zeros++;
		}
		first = last = low / block;
		while (last % 10 < 9 && (last + 2) * block - 1 <= high)
			last++;
		if (first / 10 > 0)
			snprintf(digits, sizeof(digits), "%llu", first / 10);
		if (first == last)
			snprintf(text, sizeof(text), "%s%s%llu", before, digits, first % 10);
		else
			snprintf(text, sizeof(text), "%s%s[%llu-%llu]", before, digits, first % 10,
				last % 10);
		if (zeros == 1)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "[0-9]");
		else if (zeros > 1)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "[0-9]{%u}",
				zeros);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", after);
		entry(out, "regex", text);
		low = (last + 1) * block;
	}
}

/* A condition on an AS number of the path, at the place that the text around the number says. */
static struct condition *
on_numbers(struct program *p, const struct operand *o, const char *kind, const char *before,
	const char *after)
{
	char name[64];
	bool fresh;
	json_t *entries = list(p, "as_path_lists", o->name, kind, &fresh, name), *e;
	size_t i;

	if (!fresh)
		return leaf(p, "as_path_list", json_string(name), A_PATH);
	if (o->kind == O_NUMBER)
		number_regexes(entries, (unsigned long long)o->number,
			(unsigned long long)o->number, before, after);
	json_array_foreach(o->value, i, e)
		number_regexes(entries, (unsigned long long)number_of(e, "low"),
			(unsigned long long)number_of(e, "high"), before, after);
	share(p, "as_path_lists", o->name, name);
	return leaf(p, "as_path_list", json_string(name), A_PATH);
}

static struct condition *
on_communities(struct program *p, const struct operand *attribute, const struct operand *o)
{
	static const struct {
		const char *key, *section, *match;
		unsigned read;
	} kinds[] = {{"community", "community_lists", "community_list", A_COMMUNITIES},
		{"large_community", "large_community_lists", "large_community_list", A_LARGE},
		{"ext_community", "ext_community_lists", "ext_community_list", A_EXT}};
	char name[64];
	json_t *entries, *e;
	struct condition *c;
	unsigned k = 0;
	bool fresh;
	size_t i;

	while (k < 2 && !is(kinds[k].key, attribute->text))
		k++;
	if (o->text != NULL && !is(o->text, attribute->text))
		return bad(p, "a community of another kind");
	entries = list(p, kinds[k].section, o->name, "", &fresh, name);
	if (fresh) {
		json_array_foreach(o->value, i, e)
			entry(entries, kinds[k].key, json_string_value(e));
	}
	share(p, kinds[k].section, o->name, name);
	c = leaf(p, kinds[k].match, json_string(name), kinds[k].read);
	c->values = o->value;
	return c;
}

/* ---- constants ---- */

static bool
take_number(struct program *p, json_int_t *out)
{
	struct operand o = operand(p);

	*out = o.number;
	return o.kind == O_NUMBER || bad(p, "not a number") != NULL;
}

/* N, N..M, or * (all numbers). */
static bool
take_range(struct program *p, json_int_t *low, json_int_t *high)
{
	if (bird_take(p->b, "*")) {
		*low = 0;
		*high = -1;
		return true;
	}
	if (!take_number(p, low))
		return false;
	*high = *low;
	return !bird_take(p->b, "..") || take_number(p, high);
}

/* Many communities as one text: a part is a number, a range, or all numbers. */
static json_t *
community_pattern(const char *kind, const json_int_t *low, const json_int_t *high, unsigned n)
{
	char part[3][48];

	for (unsigned i = 0; i < n; i++) {
		if (high[i] < low[i])
			snprintf(part[i], sizeof(part[i]), "*");
		else
			snprintf(part[i], sizeof(part[i]), high[i] > low[i] ? "%lld-%lld" : "%lld",
				(long long)low[i], (long long)high[i]);
	}
	if (n == 3)
		return json_sprintf("%s:%s:%s", part[0], part[1], part[2]);
	return json_sprintf(
		"%s%s%s:%s", kind != NULL ? kind : "", kind != NULL ? ":" : "", part[0], part[1]);
}

/* After "(": the numbers of a community, or (rt, A, B). */
static struct operand
community(struct program *p, unsigned line)
{
	struct operand o = {.kind = O_COMMUNITY, .value = bird_keep(p->b, json_array())};
	json_int_t low[3] = {0}, high[3] = {0}, total = 1;
	const char *first = bird_peek(p->b, 0)->text, *kind = is(first, "rt")	? "rt"
							      : is(first, "ro") ? "soo"
										: NULL;
	unsigned n = 0;

	(void)line;
	if (kind != NULL && is(bird_peek(p->b, 1)->text, ",")) {
		bird_take(p->b, first);
		bird_take(p->b, ",");
	} else {
		kind = NULL;
	}
	do {
		if (n == 3 || !take_range(p, &low[n], &high[n]))
			return bad_operand(p, "an unknown community");
		n++;
	} while (bird_take(p->b, ","));
	if (!bird_take(p->b, ")") || n < 2 || (kind != NULL && n != 2))
		return bad_operand(p, "an unknown community");
	for (unsigned i = 0; i < n; i++) {
		total = high[i] < low[i] ? EXPANDED_MAX + 1 : total;
		total = total > EXPANDED_MAX ? total : total * (high[i] - low[i] + 1);
	}
	o.text = kind != NULL ? "ext_community" : n == 3 ? "large_community" : "community";
	if (total > EXPANDED_MAX) {
		json_array_append_new(o.value, community_pattern(kind, low, high, n));
		return o;
	}
	for (json_int_t x = low[0]; x <= high[0]; x++) {
		for (json_int_t y = low[1]; y <= high[1]; y++) {
			for (json_int_t z = low[2]; z <= high[2]; z++) {
				if (n == 3)
					json_array_append_new(o.value,
						json_sprintf("%lld:%lld:%lld", (long long)x,
							(long long)y, (long long)z));
				else
					json_array_append_new(
						o.value, json_sprintf("%s%s%lld:%lld",
								 kind ? kind : "", kind ? ":" : "",
								 (long long)x, (long long)y));
			}
		}
	}
	return o;
}

/* The prefix of `length` bits of an address. */
static void
covering(char *out, size_t size, int family, const unsigned char *address, unsigned length)
{
	unsigned char a[16] = {0};
	char text[INET6_ADDRSTRLEN];

	memcpy(a, address, family == AF_INET ? 4 : 16);
	for (unsigned i = length; i < (family == AF_INET ? 32u : 128u); i++)
		a[i / 8] = (unsigned char)(a[i / 8] & ~(0x80 >> i % 8));
	inet_ntop(family, a, text, sizeof(text));
	snprintf(out, size, "%s/%u", text, length);
}

/*
 * After an address: /LENGTH and +, -, or {LOW,HIGH}. Prefixes that are longer are a range of an entry;
 * prefixes that are shorter are entries of their own.
 */
static struct operand
prefix(struct program *p, const char *address, bool pattern)
{
	struct operand o = {.kind = O_PREFIX, .value = bird_keep(p->b, json_array())};
	unsigned char a[16] = {0};
	int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
	json_int_t most = family == AF_INET ? 32 : 128, length, low, high;
	char text[64];

	if (inet_pton(family, address, a) != 1)
		return bad_operand(p, "an unknown address");
	if (!bird_take(p->b, "/")) {
		o.kind = O_ADDRESS;
		o.text = address;
		length = most;
	} else if (!take_number(p, &length)) {
		return bad_operand(p, "an unknown prefix");
	}
	if (length > most)
		return bad_operand(p, "an unknown prefix");
	low = high = length;
	if (pattern && bird_take(p->b, "+")) {
		high = most;
	} else if (pattern && bird_take(p->b, "-")) {
		low = 0;
	} else if (pattern && bird_take(p->b, "{")) {
		if (!take_number(p, &low) || !bird_take(p->b, ",") || !take_number(p, &high) ||
			!bird_take(p->b, "}") || high > most)
			return bad_operand(p, "an unknown range of lengths");
	}
	for (json_int_t shorter = low; shorter < length && shorter <= high; shorter++) {
		covering(text, sizeof(text), family, a, (unsigned)shorter);
		json_array_append_new(o.value, json_pack("{s:s}", "prefix", text));
	}
	covering(text, sizeof(text), family, a, (unsigned)length);
	if (high >= length && (low > length || high > length))
		json_array_append_new(o.value, json_pack("{s:s, s:I, s:I}", "prefix", text, "ge",
						       low > length ? low : length, "le", high));
	else if (high >= length)
		json_array_append_new(o.value, json_pack("{s:s}", "prefix", text));
	return o;
}

/* After "[": the elements of a set, which are of one kind. */
static struct operand
set(struct program *p)
{
	struct operand o = {
		.kind = O_SET, .element = O_BAD, .value = bird_keep(p->b, json_array())};

	while (!bird_take(p->b, "]")) {
		const struct bird_token *t = bird_peek(p->b, 0);
		struct operand e;
		json_int_t high;

		if (t->kind == BIRD_ADDRESS) {
			p->b->at++;
			e = prefix(p, t->text, true);
			if (e.kind == O_ADDRESS)
				e.kind = O_PREFIX;
		} else {
			e = operand(p);
		}
		if (e.kind == O_NUMBER) {
			high = e.number;
			if (bird_take(p->b, "..") && !take_number(p, &high))
				return bad_operand(p, "an unknown range");
			json_array_append_new(
				o.value, json_pack("{s:I, s:I}", "low", e.number, "high", high));
		} else if (e.kind == O_PREFIX || e.kind == O_ADDRESS || e.kind == O_COMMUNITY) {
			if (e.kind == O_ADDRESS)
				e.kind = O_PREFIX;
			json_array_extend(o.value, e.value);
			if (e.kind == O_COMMUNITY && o.element == O_COMMUNITY &&
				!is(o.text, e.text))
				return bad_operand(p, "a set of several kinds");
			o.text = e.text;
		} else if (e.kind == O_WORD) {
			json_array_append_new(o.value, json_string(e.text));
		} else {
			return bad_operand(p, "an unknown element of a set");
		}
		if (o.element != O_BAD && o.element != e.kind)
			return bad_operand(p, "a set of several kinds");
		o.element = e.kind;
		if (!bird_take(p->b, ",") && !bird_is(p->b, "]"))
			return bad_operand(p, "an unknown set");
	}
	return o;
}

/* After "[=": a mask of AS paths, as a regular expression. */
static struct operand
mask(struct program *p)
{
	char text[1024] = "";
	bool begin = true, any = false; /* any: after `*` */

	while (!bird_take(p->b, "=]")) {
		char before[8], element[64];
		json_int_t n;

		if (strlen(text) > sizeof(text) - 100)
			return bad_operand(p, "the mask is too long");
		if (bird_take(p->b, "*")) {
			any = true;
			continue;
		}
		if (bird_take(p->b, "?")) {
			snprintf(element, sizeof(element), "[^ ]+");
		} else {
			struct operand o = operand(p);

			n = o.number;
			if (o.kind != O_NUMBER || bird_is(p->b, ".."))
				return bad_operand(
					p, "the mask has an element that is no number, * or ?");
			snprintf(element, sizeof(element), "%lld", (long long)n);
		}
		snprintf(before, sizeof(before), "%s",
			begin && any ? "_"
			: begin	     ? "^"
			: any	     ? "_(.*_)?"
				     : "_");
		strcat(strcat(text, before), element);
		begin = any = false;
	}
	if (begin)
		snprintf(text, sizeof(text), "%s", any ? ".*" : "^$");
	else
		strcat(text, any ? "_" : "$");
	return (struct operand){
		.kind = O_MASK, .text = json_string_value(bird_keep(p->b, json_string(text)))};
}

/* ---- operands ---- */

/* The arguments of a call, bound to the parameters of a function. False: a different count. */
static bool
bound(struct program *p, const struct bird_definition *f, struct scope **out)
{
	unsigned at = f->parameters.at;
	struct scope *scope = NULL;

	while (!bird_take(p->b, ")")) {
		struct scope *s = &cell(p)->u.scope;
		const struct bird_token *t = p->b->token;

		s->value.at = p->b->at;
		while (!bird_is(p->b, ",") && !bird_is(p->b, ")")) {
			if (bird_peek(p->b, 0)->kind == BIRD_END)
				return false;
			if (bird_is(p->b, "(") || bird_is(p->b, "[") || bird_is(p->b, "{"))
				bird_skip_brackets(p->b);
			else
				p->b->at++;
		}
		s->value.end = p->b->at;
		bird_take(p->b, ",");
		/* the parameter: the last symbol before the separator */
		while (at < f->parameters.end && !is(t[at].text, ";") && !is(t[at].text, ",")) {
			if (t[at].kind == BIRD_SYMBOL)
				s->name = t[at].text;
			at++;
		}
		at++;
		if (s->name == NULL)
			return false;
		s->scope = p->scope;
		s->next = scope;
		scope = s;
	}
	*out = scope;
	return at >= f->parameters.end;
}

/* The value of tokens elsewhere. */
static struct operand
operand_at(struct program *p, struct bird_range r, struct scope *scope)
{
	unsigned at = p->b->at, end = p->b->end;
	struct scope *old = p->scope;
	struct operand o = {O_BAD};
	struct condition *c;

	p->b->at = r.at;
	p->b->end = r.end;
	p->scope = scope;
	o = operand(p);
	if (o.kind == O_BAD || p->b->at != p->b->end) {
		p->b->at = r.at;
		p->why = NULL;
		c = expression(p);
		o = c != NULL && p->b->at == p->b->end
			    ? (struct operand){.kind = O_CONDITION, .condition = c}
			    : bad_operand(p, "an expression that policies cannot compute");
	}
	p->b->at = at;
	p->b->end = end;
	p->scope = old;
	return o;
}

/* roa_check(TABLE [, net, bgp_path.last]) */
static struct operand
roa_check(struct program *p)
{
	struct bird_definition *d;
	const char *table = bird_peek(p->b, 1)->text;

	if (!bird_is(p->b, "("))
		return bad_operand(p, "an unknown call");
	d = bird_find(p->b, table);
	if (is(bird_peek(p->b, 2)->text, ",") &&
		!(is(bird_peek(p->b, 3)->text, "net") && is(bird_peek(p->b, 4)->text, ",") &&
			is(bird_peek(p->b, 5)->text, "bgp_path") &&
			is(bird_peek(p->b, 6)->text, ".") &&
			(is(bird_peek(p->b, 7)->text, "last") ||
				is(bird_peek(p->b, 7)->text, "last_nonaggregated")) &&
			is(bird_peek(p->b, 8)->text, ")")))
		return bad_operand(p, "validation is of the prefix and the last AS number");
	bird_skip_brackets(p->b);
	if (d == NULL || (d->kind != BIRD_ROA4 && d->kind != BIRD_ROA6))
		return bad_operand(p, "an unknown ROA table");
	return (struct operand){
		.kind = O_ROA, .text = d->kind == BIRD_ROA4 ? "ipv4-unicast" : "ipv6-unicast"};
}

static struct operand
path_part(struct program *p)
{
	static const struct {
		const char *word;
		enum operand_kind kind;
	} parts[] = {{"len", O_PATH_LEN}, {"first", O_PATH_FIRST}, {"last", O_PATH_LAST}};

	if (!is(bird_peek(p->b, 0)->text, "."))
		return (struct operand){.kind = O_PATH};
	for (unsigned i = 0; i < 3; i++) {
		if (is(bird_peek(p->b, 1)->text, parts[i].word)) {
			p->b->at += 2;
			return (struct operand){.kind = parts[i].kind};
		}
	}
	return bad_operand(p, "policies have no such part of the path");
}

static struct operand
attribute_of(struct program *p, const char *name)
{
	static const struct {
		const char *word;
		struct operand o;
	} words[] = {{"bgp_community", {.kind = O_COMMUNITIES, .text = "community"}},
		{"bgp_large_community", {.kind = O_COMMUNITIES, .text = "large_community"}},
		{"bgp_ext_community", {.kind = O_COMMUNITIES, .text = "ext_community"}},
		{"bgp_local_pref", {.kind = O_LOCAL_PREF}}, {"bgp_origin", {.kind = O_ORIGIN}},
		{"bgp_next_hop", {.kind = O_NEXT_HOP}}, {"source", {.kind = O_SOURCE}},
		{"proto", {.kind = O_PROTO}}};
	struct operand o;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(name, words[i].word))
			return words[i].o;
	}
	if (is(name, "bgp_path"))
		return path_part(p);
	if (is(name, "net")) {
		o = (struct operand){.kind = O_NET};
		if (bird_is(p->b, ".") && (is(bird_peek(p->b, 1)->text, "len") ||
						  is(bird_peek(p->b, 1)->text, "type"))) {
			o.kind = is(bird_peek(p->b, 1)->text, "len") ? O_NET_LEN : O_NET_TYPE;
			p->b->at += 2;
		}
		return o;
	}
	if (is(name, "true") || is(name, "false"))
		return (struct operand){.kind = O_CONDITION,
			.condition = condition(p, is(name, "true") ? C_TRUE : C_FALSE)};
	if (strncmp(name, "ROA_", 4) == 0 || strncmp(name, "RTS_", 4) == 0 ||
		strncmp(name, "NET_", 4) == 0 || strncmp(name, "ORIGIN_", 7) == 0)
		return (struct operand){.kind = O_WORD, .text = name};
	return bad_operand(p, "policies have no such value");
}

static struct operand
symbol(struct program *p, const char *name)
{
	struct bird_definition *d;
	struct scope *s;
	struct operand o;

	if (is(name, "roa_check"))
		return roa_check(p);
	for (s = p->scope; s != NULL; s = s->next) {
		if (is(s->name, name))
			return s->value.end > s->value.at
				       ? operand_at(p, s->value, s->scope)
				       : bad_operand(p, "a variable without a value here");
	}
	d = bird_find(p->b, name);
	if (d != NULL && d->kind == BIRD_CONSTANT) {
		d->used = true;
		o = operand_at(p, d->value, NULL);
		o.name = d->name;
		return o;
	}
	if (d != NULL && d->kind == BIRD_FUNCTION && bird_take(p->b, "(")) {
		o = (struct operand){.kind = O_CONDITION, .condition = condition(p, C_CALL)};
		o.condition->function = d;
		return bound(p, d, &o.condition->scope)
			       ? o
			       : bad_operand(p, "a call with other parameters");
	}
	return attribute_of(p, name);
}

static struct operand
operand(struct program *p)
{
	const struct bird_token *t = bird_peek(p->b, 0);
	struct operand o = {O_BAD};
	struct condition *c;

	if (++p->steps > STEPS_MAX || p->depth >= DEPTH_MAX)
		return bad_operand(p, "the filter is too large");
	if (t->kind == BIRD_END)
		return bad_operand(p, "an incomplete expression");
	p->depth++;
	p->b->at++;
	if (t->kind == BIRD_NUMBER) {
		o = (struct operand){.kind = O_NUMBER, .number = t->number};
	} else if (t->kind == BIRD_ADDRESS) {
		o = prefix(p, t->text, false);
	} else if (t->kind == BIRD_TEXT) {
		o = (struct operand){.kind = O_TEXT, .text = t->text};
	} else if (t->kind == BIRD_SYMBOL) {
		o = symbol(p, t->text);
	} else if (is(t->text, "[")) {
		o = set(p);
	} else if (is(t->text, "[=")) {
		o = mask(p);
	} else if (is(t->text, "!")) {
		o = operand(p);
		o = o.kind == O_CONDITION
			    ? (struct operand){.kind = O_CONDITION,
				      .condition = combined(p, C_NOT, o.condition, NULL)}
			    : bad_operand(p, "not a condition after !");
	} else if (is(t->text, "(")) {
		unsigned at = p->b->at;

		o = community(p, t->line);
		if (o.kind == O_BAD && !(p->why != NULL && strstr(p->why, "communities") != NULL)) {
			p->b->at = at;
			p->why = NULL;
			c = expression(p);
			o = c != NULL && bird_take(p->b, ")")
				    ? (struct operand){.kind = O_CONDITION, .condition = c}
				    : bad_operand(p, "an expression that policies cannot compute");
		}
	} else {
		o = bad_operand(p, "an unknown expression");
	}
	p->depth--;
	return o;
}

/* ---- comparisons ---- */

/* The range of numbers of a comparison; false: no range. */
static bool
range_of(const char *op, json_int_t n, json_int_t *low, json_int_t *high)
{
	*low = is(op, ">") ? n + 1 : is(op, "<") || is(op, "<=") ? 0 : n;
	*high = is(op, "<") ? n - 1 : is(op, ">") || is(op, ">=") ? 4294967295ll : n;
	return is(op, "=") || is(op, "<") || is(op, ">") || is(op, "<=") || is(op, ">=");
}

/* LOCAL_PREF, the lengths of prefix and path: compared with a number, or in a set of numbers. */
static struct condition *
on_range(struct program *p, const struct operand *l, const char *op, const struct operand *r)
{
	struct condition *c = NULL, *one;
	json_int_t low, high;
	json_t *e;
	size_t i;

	if (r->kind == O_SET && r->element == O_NUMBER && is(op, "~")) {
		json_array_foreach(r->value, i, e)
		{
			struct operand n = {.kind = O_NUMBER, .number = number_of(e, "low")};
			struct operand m = {.kind = O_NUMBER, .number = number_of(e, "high")};

			one = combined(
				p, C_AND, on_range(p, l, ">=", &n), on_range(p, l, "<=", &m));
			c = c != NULL ? combined(p, C_OR, c, one) : one;
		}
		return c != NULL ? c : condition(p, C_FALSE);
	}
	if (r->kind != O_NUMBER || !range_of(op, r->number, &low, &high))
		return bad(p, "not a comparison with a number");
	if (low > high)
		return condition(p, C_FALSE);
	if (l->kind == O_NET_LEN)
		return on_lengths(p, low, high);
	return leaf(p, l->kind == O_PATH_LEN ? "as_path_length" : "local_pref",
		json_pack("{s:I, s:I}", "ge", low, "le", high),
		l->kind == O_PATH_LEN ? A_PATH : A_LOCAL_PREF);
}

static struct condition *
on_word(struct program *p, const struct operand *l, const char *word)
{
	static const struct {
		enum operand_kind kind;
		const char *word, *key, *value, *value2;
	} words[] = {{O_ORIGIN, "ORIGIN_IGP", "origin", "igp", NULL},
		{O_ORIGIN, "ORIGIN_EGP", "origin", "egp", NULL},
		{O_ORIGIN, "ORIGIN_INCOMPLETE", "origin", "incomplete", NULL},
		{O_SOURCE, "RTS_BGP", "source", "external", "internal"},
		{O_SOURCE, "RTS_STATIC", "source", "static", NULL},
		{O_SOURCE, "RTS_DEVICE", "source", "connected", NULL},
		{O_NET_TYPE, "NET_IP4", "family", "ipv4-unicast", NULL},
		{O_NET_TYPE, "NET_IP6", "family", "ipv6-unicast", NULL},
		{O_ROA, "ROA_VALID", "validation", "valid", NULL},
		{O_ROA, "ROA_INVALID", "validation", "invalid", NULL},
		{O_ROA, "ROA_UNKNOWN", "validation", "not-found", NULL}};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct condition *c, *family;

		if (words[i].kind != l->kind || !is(words[i].word, word))
			continue;
		c = leaf(p, words[i].key,
			words[i].value2 != NULL
				? json_pack("[s, s]", words[i].value, words[i].value2)
				: json_string(words[i].value),
			l->kind == O_ORIGIN ? A_ORIGIN : 0);
		if (l->kind != O_ROA)
			return c;
		/* a table has the prefixes of one family; prefixes of the other family are unknown */
		p->validation = true;
		family = leaf(p, "family", json_string(l->text), 0);
		return is(word, "ROA_UNKNOWN")
			       ? combined(p, C_OR, combined(p, C_NOT, family, NULL), c)
			       : combined(p, C_AND, family, c);
	}
	if (l->kind == O_SOURCE && strncmp(word, "RTS_", 4) == 0)
		return bad(p, "routes of this source are not in keeld");
	return bad(p, "an unknown comparison");
}

static struct condition *
on_proto(struct program *p, const char *name)
{
	struct bird_definition *d = bird_find(p->b, name);

	if (d == NULL || d->kind != BIRD_STATIC || p->b->static_count != 1)
		return bad(p, "policies do not know protocols by their names");
	return leaf(p, "source", json_string("static"), 0);
}

static struct condition *
compared_equal(struct program *p, const struct operand *l, const char *op, const struct operand *r)
{
	struct condition *c = NULL;
	json_t *e;
	size_t i;

	switch (l->kind) {
	case O_NET:
		if (is(op, "~") && r->kind == O_PREFIX && json_array_size(r->value) == 1) {
			struct operand within = {
				.kind = O_SET, .value = bird_keep(p->b, json_array())};
			const char *text = json_string_value(
				json_object_get(json_array_get(r->value, 0), "prefix"));

			json_array_append_new(
				within.value, json_pack("{s:s, s:i}", "prefix", text, "le",
						      strchr(text, ':') ? 128 : 32));
			return on_prefixes(p, "prefix_list", &within, 0);
		}
		if ((is(op, "=") && r->kind == O_PREFIX) ||
			(is(op, "~") && r->kind == O_SET &&
				(r->element == O_PREFIX || r->element == O_BAD)))
			return on_prefixes(p, "prefix_list", r, 0);
		break;
	case O_NEXT_HOP:
		if ((is(op, "=") && r->kind == O_ADDRESS) ||
			(is(op, "~") && r->kind == O_SET && r->element == O_PREFIX))
			return on_prefixes(p, "next_hop_prefix_list", r, A_NEXT_HOP);
		break;
	case O_PATH:
		if (r->kind == O_MASK) {
			char name[64];
			bool fresh;
			json_t *entries = list(p, "as_path_lists", NULL, "", &fresh, name);

			entry(entries, "regex", r->text);
			share(p, "as_path_lists", NULL, name);
			return leaf(p, "as_path_list", json_string(name), A_PATH);
		}
		if (is(op, "~") && r->kind == O_SET &&
			(r->element == O_NUMBER || r->element == O_BAD))
			return on_numbers(p, r, "any", "_", "_");
		break;
	case O_PATH_FIRST:
	case O_PATH_LAST:
		if ((is(op, "=") && r->kind == O_NUMBER) ||
			(is(op, "~") && r->kind == O_SET && r->element == O_NUMBER))
			return l->kind == O_PATH_FIRST ? on_numbers(p, r, "first", "^", "_")
						       : on_numbers(p, r, "last", "(^|[ ])", "$");
		break;
	case O_COMMUNITIES:
		if (is(op, "~") && r->kind == O_SET &&
			(r->element == O_COMMUNITY || r->element == O_BAD))
			return on_communities(p, l, r);
		break;
	case O_PROTO:
		if (is(op, "=") && r->kind == O_TEXT)
			return on_proto(p, r->text);
		break;
	case O_ORIGIN:
	case O_SOURCE:
	case O_NET_TYPE:
	case O_ROA:
		if (is(op, "=") && r->kind == O_WORD)
			return on_word(p, l, r->text);
		if (is(op, "~") && r->kind == O_SET && r->element == O_WORD) {
			json_array_foreach(r->value, i, e)
			{
				struct condition *one = on_word(p, l, json_string_value(e));

				if (one == NULL)
					return NULL;
				c = c != NULL ? combined(p, C_OR, c, one) : one;
			}
			return c;
		}
		break;
	default:
		break;
	}
	return bad(p, "an unknown comparison");
}

static struct condition *
compared(struct program *p, struct operand *l, const char *op, struct operand *r)
{
	bool negative = is(op, "!=") || is(op, "!~");
	struct condition *c;
	json_int_t low, high;

	if (l->kind == O_BAD || r->kind == O_BAD)
		return NULL;
	if (negative)
		op = is(op, "!=") ? "=" : "~";
	if (is(op, "~") && r->kind == O_COMMUNITIES && l->kind == O_COMMUNITY)
		c = on_communities(p, r, l);
	else if (is(op, "~") && r->kind == O_PATH && l->kind == O_NUMBER)
		c = on_numbers(p, l, "any", "_", "_");
	else if (l->kind == O_NUMBER && r->kind == O_NUMBER && range_of(op, r->number, &low, &high))
		c = condition(p, l->number >= low && l->number <= high ? C_TRUE : C_FALSE);
	else if (l->kind == O_CONDITION && r->kind == O_CONDITION && is(op, "=") &&
		 (r->condition->kind == C_TRUE || r->condition->kind == C_FALSE))
		c = r->condition->kind == C_TRUE ? l->condition
						 : combined(p, C_NOT, l->condition, NULL);
	else if (l->kind == O_NET_LEN || l->kind == O_PATH_LEN || l->kind == O_LOCAL_PREF)
		c = on_range(p, l, op, r);
	else
		c = compared_equal(p, l, op, r);
	return c != NULL && negative ? combined(p, C_NOT, c, NULL) : c;
}

static struct condition *
comparison(struct program *p)
{
	static const char *const ops[] = {"=", "!=", "<", ">", "<=", ">=", "~", "!~"};
	struct operand l = operand(p), r;

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (l.kind != O_BAD && bird_take(p->b, ops[i])) {
			r = operand(p);
			return compared(p, &l, ops[i], &r);
		}
	}
	return l.kind == O_CONDITION ? l.condition
				     : bad(p, "an expression that is not a condition");
}

static struct condition *
conjunction(struct program *p)
{
	struct condition *c = comparison(p), *other;

	while (c != NULL && bird_take(p->b, "&&")) {
		other = comparison(p);
		c = other != NULL ? combined(p, C_AND, c, other) : NULL;
	}
	return c;
}

/* NULL: the reason is in p->why. */
static struct condition *
expression(struct program *p)
{
	struct condition *c, *other;

	if (++p->depth > DEPTH_MAX) {
		p->depth--;
		return bad(p, "the expression is too deep");
	}
	c = conjunction(p);
	while (c != NULL && bird_take(p->b, "||")) {
		other = conjunction(p);
		c = other != NULL ? combined(p, C_OR, c, other) : NULL;
	}
	p->depth--;
	return c;
}

/* ---- statements ---- */

/* Takes one statement without a look at its meaning. */
static void
skip_statement(struct bird *b)
{
	for (;;) {
		while (bird_is(b, "if")) {
			while (!bird_is(b, "then") && bird_peek(b, 0)->kind != BIRD_END) {
				if (bird_is(b, "(") || bird_is(b, "[") || bird_is(b, "{"))
					bird_skip_brackets(b);
				else
					b->at++;
			}
			bird_take(b, "then");
		}
		if (bird_is(b, "{")) {
			bird_skip_brackets(b);
		} else {
			bool in_case = bird_is(b, "case");

			while (bird_peek(b, 0)->kind != BIRD_END && !bird_is(b, ";") &&
				!(in_case && bird_is(b, "{"))) {
				if (bird_is(b, "(") || bird_is(b, "[") || bird_is(b, "{"))
					bird_skip_brackets(b);
				else
					b->at++;
			}
			if (bird_is(b, "{"))
				bird_skip_brackets(b);
			else
				bird_take(b, ";");
		}
		if (!bird_take(b, "else"))
			return;
	}
}

/* The statement from `at` on is not carried: the filter rejects here. */
static void
not_carried(struct program *p, unsigned at)
{
	struct bird *b = p->b;
	unsigned first = b->token[at].line, last;

	b->at = at;
	skip_statement(b);
	if (b->at == at)
		b->at = at < b->end ? at + 1 : at;
	last = b->token[b->at > at ? b->at - 1 : at].line;
	bird_note(b, first, "not carried: %s; the policy rejects here",
		p->why != NULL ? p->why : "policies have no such statement");
	for (unsigned l = first + 1; l <= last; l++)
		bird_note(b, l, "not carried: part of line %u", b->line[first].number);
	p->why = NULL;
	leave(p, "deny", NO_LABEL);
}

static void
statements(struct program *p)
{
	while (!bird_is(p->b, "}") && bird_peek(p->b, 0)->kind != BIRD_END)
		statement(p);
	bird_take(p->b, "}");
}

/* A condition whose attributes the filter has not changed before; NULL: not carried. */
static struct condition *
usable(struct program *p)
{
	struct condition *c = expression(p);

	if (c != NULL && is_changed(p, c))
		return bad(p, "the condition sees an attribute that the filter has changed before; "
			      "conditions see the route as received");
	return c;
}

/* The branch is one node without a condition: the condition of the `if` goes into that node. */
static bool
collapse(struct program *p, json_t *match, size_t start)
{
	json_t *node = json_array_get(p->nodes, start + 2);

	if (match == NULL || json_array_size(p->nodes) != start + 3 ||
		json_object_get(node, "match") != NULL)
		return false;
	json_object_set(node, "match", match);
	json_array_remove(p->nodes, start + 1);
	json_array_remove(p->nodes, start);
	for (int i = 0; i < p->label_count; i++) {
		if (p->label[i].place >= (int)start + 2)
			p->label[i].place -= 2;
	}
	return true;
}

/*
 * The end of a block or branch. A variable of the outer scope that the block has set has no value
 * any more: the value depends on the way.
 */
static void
scope_end(struct program *p, struct scope *outer)
{
	for (struct scope *s = p->scope; s != outer && s != NULL; s = s->next) {
		for (struct scope *o = outer; o != NULL; o = o->next) {
			if (is(o->name, s->name))
				o->value = (struct bird_range){0};
		}
	}
	p->scope = outer;
}

static void
if_statement(struct program *p, unsigned at)
{
	struct condition *c = usable(p);
	int yes, no, end;
	unsigned before = p->changed, after;
	bool was = p->reachable, goes_on, one;
	size_t start;
	json_t *match, *touched = bird_keep(p->b, json_copy(p->touched));
	struct scope *scope; /* a variable that a branch sets has no value behind the branch */

	if (c == NULL || !bird_take(p->b, "then")) {
		not_carried(p, at);
		return;
	}
	scope = p->scope;
	yes = label(p);
	no = label(p);
	end = label(p);
	flush(p);
	match = was ? simple(p, c) : NULL;
	start = json_array_size(p->nodes);
	if (match != NULL) {
		append(p, "permit", match, NULL, yes);
		leave(p, "permit", no);
	} else {
		branch(p, c, yes, no, yes);
		p->reachable = false;
	}
	place(p, yes);
	statement(p);
	scope_end(p, scope);
	flush(p);
	one = collapse(p, match, start);
	goes_on = p->reachable;
	after = goes_on ? p->changed : before;
	if (!goes_on)
		p->touched = bird_keep(p->b, json_copy(touched));
	if (bird_take(p->b, "else")) {
		if (goes_on && one)
			json_object_set_new(
				json_array_get(p->nodes, start), "label", json_integer(end)),
				p->label[end].used = true;
		else if (goes_on)
			leave(p, "permit", end);
		p->reachable = false;
		p->changed = before;
		place(p, no);
		statement(p);
		scope_end(p, scope);
		flush(p);
		after = (p->reachable ? p->changed : before) | after;
	} else {
		place(p, no);
	}
	p->changed = after;
	place(p, end);
}

/* True at the values of a branch of `case`, before `:`. */
static bool
is_branch(const struct bird *b)
{
	const struct bird_token *t = bird_peek(b, 0), *next = bird_peek(b, 1);

	return t->kind == BIRD_NUMBER || is(t->text, "(") ||
	       (t->kind == BIRD_SYMBOL &&
		       (is(next->text, ":") || is(next->text, ",") || is(next->text, "..")));
}

static void
case_statement(struct program *p, unsigned at)
{
	struct bird *b = p->b;
	struct operand l = operand(p);
	int end = label(p), yes, no;
	unsigned before = p->changed, after = before;
	struct scope *scope = p->scope;

	if (l.kind == O_BAD || !bird_take(b, "{")) {
		not_carried(p, at);
		return;
	}
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		struct condition *c = bird_take(b, "else") ? condition(p, C_TRUE) : NULL, *one;

		while (c == NULL || (c->kind != C_TRUE && bird_take(b, ","))) {
			struct operand r = operand(p),
				       set_of = {.kind = O_SET, .element = r.kind, .value = NULL};

			if (r.kind == O_NUMBER && bird_is(b, "..")) {
				json_int_t high = 0;

				bird_take(b, "..");
				take_number(p, &high);
				set_of.value = bird_keep(b,
					json_pack("[{s:I, s:I}]", "low", r.number, "high", high));
				r = set_of;
			}
			one = compared(p, &l, r.kind == O_SET ? "~" : "=", &r);
			c = one == NULL ? NULL : c != NULL ? combined(p, C_OR, c, one) : one;
			if (c == NULL)
				break;
		}
		if (c == NULL || !bird_take(b, ":") || is_changed(p, c)) {
			not_carried(p, at);
			place(p, end);
			return;
		}
		yes = label(p);
		no = label(p);
		branch(p, c, yes, no, yes);
		p->reachable = false;
		place(p, yes);
		while (!is_branch(b) && !bird_is(b, "else") && !bird_is(b, "}") &&
			bird_peek(b, 0)->kind != BIRD_END)
			statement(p);
		scope_end(p, scope);
		after |= p->reachable ? p->changed : before;
		leave(p, "permit", end);
		p->changed = before;
		place(p, no);
	}
	p->changed = after;
	place(p, end);
}

/* The object of changes of a kind of communities. */
static json_t *
changes(struct program *p, const char *key)
{
	return import_made(p->pending,
		is(key, "community")	     ? "communities"
		: is(key, "large_community") ? "large_communities"
					     : "ext_communities",
		json_object());
}

static unsigned
attribute_bit(const char *key)
{
	return is(key, "community") ? A_COMMUNITIES : is(key, "large_community") ? A_LARGE : A_EXT;
}

/* add, delete, empty of communities. Returns false if not carried. */
static bool
change_communities(struct program *p, const char *key, const char *verb, const struct operand *o)
{
	json_t *c, *array, *e;
	size_t i;

	if (o != NULL && (o->text == NULL || !is(o->text, key)))
		return bad(p, "a community of another kind") != NULL;
	if (o != NULL && is(verb, "add") &&
		(json_array_size(o->value) != 1 ||
			strpbrk(json_string_value(json_array_get(o->value, 0)), "*-") != NULL))
		return bad(p, "one community is added at a time") != NULL;
	if (is(verb, "delete") && json_object_get(changes(p, key), "add") != NULL)
		flush(p);
	c = changes(p, key);
	if (is(verb, "empty")) {
		json_object_clear(c);
		p->changed |= attribute_bit(key);
		return json_object_set_new(c, "replace", json_array()) == 0;
	}
	array = import_made(c, is(verb, "add") ? "add" : "remove", json_array());
	json_array_foreach(o->value, i, e)
	{
		json_array_append(array, e);
		json_object_set_new(p->touched, json_string_value(e), json_true());
	}
	return true;
}

/* Puts an AS number, or the first one of the path, before the path once more. */
static void
prepend_once(struct program *p, const struct operand *o)
{
	json_t *asn = o->kind == O_NUMBER ? json_integer(o->number) : json_string("first"),
	       *before = json_object_get(p->pending, "as_path_prepend");
	json_int_t count = before != NULL ? (json_int_t)number_of(before, "count") : 0;

	if (before != NULL && (count >= 64 || !json_equal(json_object_get(before, "asn"), asn))) {
		flush(p);
		count = 0;
	}
	json_object_set_new(p->pending, "as_path_prepend",
		json_pack("{s:o, s:I}", "asn", asn, "count", count + 1));
}

/* NAME.VERB(VALUE); NAME.empty; */
static bool
method(struct program *p, const char *name)
{
	const char *verb = bird_peek(p->b, 0)->text;
	struct operand l = attribute_of(p, name), o;

	p->b->at++;
	if (bird_take(p->b, ";"))
		return l.kind == O_COMMUNITIES && is(verb, "empty") &&
		       change_communities(p, l.text, verb, NULL);
	if (!bird_take(p->b, "("))
		return false;
	if (is(name, "bgp_path") && is(verb, "prepend")) {
		o = operand(p);
		if ((o.kind != O_NUMBER && o.kind != O_PATH_FIRST) || !bird_take(p->b, ")") ||
			!bird_take(p->b, ";"))
			return bad(p, "not a fixed AS number") != NULL;
		prepend_once(p, &o);
		p->changed |= A_PATH;
		return true;
	}
	o = operand(p);
	if (l.kind != O_COMMUNITIES || o.kind == O_BAD || !bird_take(p->b, ")") ||
		!bird_take(p->b, ";"))
		return false;
	if (o.kind == O_SET && o.element == O_COMMUNITY)
		o.kind = O_COMMUNITY;
	return o.kind == O_COMMUNITY && (is(verb, "add") || is(verb, "delete")) &&
	       change_communities(p, l.text, verb, &o);
}

/* NAME = VALUE; */
static bool
assignment(struct program *p, const char *name)
{
	static const struct {
		const char *word, *key;
		unsigned bit;
	} numbers[] = {{"bgp_local_pref", "local_pref", A_LOCAL_PREF}, {"bgp_med", "med", A_MED}};
	struct operand o;

	/* bgp_community = add(bgp_community, VALUE) */
	if ((bird_is(p->b, "add") || bird_is(p->b, "delete") || bird_is(p->b, "prepend")) &&
		is(bird_peek(p->b, 1)->text, "(") && is(bird_peek(p->b, 2)->text, name) &&
		is(bird_peek(p->b, 3)->text, ",")) {
		struct operand l = attribute_of(p, name);
		const char *verb = bird_peek(p->b, 0)->text;

		p->b->at += 4;
		o = operand(p);
		if (o.kind == O_BAD || !bird_take(p->b, ")") || !bird_take(p->b, ";"))
			return false;
		if (l.kind == O_PATH && is(verb, "prepend") &&
			(o.kind == O_NUMBER || o.kind == O_PATH_FIRST)) {
			prepend_once(p, &o);
			p->changed |= A_PATH;
			return true;
		}
		if (o.kind == O_SET && o.element == O_COMMUNITY)
			o.kind = O_COMMUNITY;
		return l.kind == O_COMMUNITIES && o.kind == O_COMMUNITY &&
		       change_communities(p, l.text, verb, &o);
	}
	if (bird_is(p->b, "-")) { /* -empty- */
		struct operand l = attribute_of(p, name);

		p->b->at++;
		return bird_take(p->b, "empty") && bird_take(p->b, "-") && bird_take(p->b, ";") &&
		       l.kind == O_COMMUNITIES && change_communities(p, l.text, "empty", NULL);
	}
	o = operand(p);
	if (!bird_take(p->b, ";"))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (is(name, numbers[i].word) && o.kind == O_NUMBER) {
			p->changed |= numbers[i].bit;
			return json_object_set_new(
				       p->pending, numbers[i].key, json_integer(o.number)) == 0;
		}
	}
	if (is(name, "bgp_origin") && o.kind == O_WORD && strncmp(o.text, "ORIGIN_", 7) == 0) {
		p->changed |= A_ORIGIN;
		return json_object_set_new(p->pending, "origin",
			       json_string(is(o.text, "ORIGIN_IGP")   ? "igp"
					   : is(o.text, "ORIGIN_EGP") ? "egp"
								      : "incomplete")) == 0;
	}
	if (is(name, "bgp_next_hop") && o.kind == O_ADDRESS) {
		p->changed |= A_NEXT_HOP;
		return json_object_set_new(p->pending, "next_hop", json_string(o.text)) == 0;
	}
	return false;
}

/* A declaration, in front of a name: `int`, `prefix set`. */
static bool
is_type(const char *word)
{
	static const char *const types[] = {"int", "bool", "ip", "prefix", "pair", "quad", "ec",
		"lc", "rd", "string", "bgpmask", "bgppath", "clist", "eclist", "lclist"};

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (is(word, types[i]))
			return true;
	}
	return false;
}

/* TYPE NAME [= VALUE]; binds the name to the value. */
static bool
declaration(struct program *p)
{
	struct scope *s = &cell(p)->u.scope;
	unsigned at;

	bird_take(p->b, "set");
	s->name = bird_peek(p->b, 0)->text;
	s->next = p->scope;
	p->b->at++;
	if (bird_take(p->b, ";")) {
		p->scope = s;
		return true;
	}
	if (!bird_take(p->b, "="))
		return false;
	at = p->b->at;
	while (!bird_is(p->b, ";") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	s->value = (struct bird_range){at, p->b->at};
	s->scope = p->scope;
	s->next = p->scope;
	p->scope = s;
	return bird_take(p->b, ";");
}

/* Variables of a function or filter, declared before the body. */
static void
declarations(struct program *p, struct bird_range header)
{
	unsigned at = p->b->at, end = p->b->end;

	p->b->at = header.at;
	p->b->end = header.end;
	while (p->b->at < header.end) {
		if (is_type(bird_peek(p->b, 0)->text)) {
			p->b->at++;
			declaration(p);
		} else {
			p->b->at++;
		}
	}
	p->b->at = at;
	p->b->end = end;
}

/* NAME = VALUE; of a variable: the value is read where the name stands. */
static bool
variable(struct program *p, const char *name)
{
	struct scope *s, *old = p->scope;
	unsigned at = p->b->at;

	while (old != NULL && !is(old->name, name))
		old = old->next;
	while (!bird_is(p->b, ";") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	/* a value that depends on the old value */
	for (unsigned i = at; i < p->b->at; i++) {
		if (is(p->b->token[i].text, name))
			return false;
	}
	s = &cell(p)->u.scope;
	*s = (struct scope){
		.name = name, .value = {at, p->b->at}, .scope = p->scope, .next = p->scope};
	p->scope = s;
	return bird_take(p->b, ";");
}

static bool
is_variable(const struct program *p, const char *name)
{
	const struct scope *s = p->scope;

	while (s != NULL && !is(s->name, name))
		s = s->next;
	return s != NULL;
}

static bool
return_statement(struct program *p)
{
	struct condition *c;

	if (p->return_true == NO_LABEL)
		return false;
	if (bird_take(p->b, ";")) {
		leave(p, "permit", p->return_true);
		return p->return_true == p->return_false;
	}
	c = usable(p);
	if (c == NULL || !bird_take(p->b, ";"))
		return false;
	branch(p, c, p->return_true, p->return_false, NO_LABEL);
	p->reachable = false;
	return true;
}

static bool
verdict_statement(struct program *p, const struct bird_token *t)
{
	leave(p, is(t->text, "accept") ? "permit" : "deny", NO_LABEL);
	if (!bird_is(p->b, ";"))
		bird_note(p->b, t->line, "changed: no message");
	while (!bird_is(p->b, ";") && !bird_is(p->b, "}") && bird_peek(p->b, 0)->kind != BIRD_END)
		p->b->at++;
	return bird_take(p->b, ";");
}

/* A call whose value is not used. */
static bool
call_statement(struct program *p, const char *name)
{
	struct bird_definition *d = bird_find(p->b, name);
	struct condition *c;
	int end;

	if (d == NULL || d->kind != BIRD_FUNCTION || !bird_take(p->b, "("))
		return false;
	c = condition(p, C_CALL);
	c->function = d;
	if (!bound(p, d, &c->scope) || !bird_take(p->b, ";"))
		return false;
	end = label(p);
	call(p, c, end, end);
	place(p, end);
	return true;
}

static bool
simple_statement(struct program *p, const struct bird_token *t)
{
	if (is(t->text, "accept") || is(t->text, "reject"))
		return verdict_statement(p, t);
	if (is(t->text, "return"))
		return return_statement(p);
	if (is(t->text, "print") || is(t->text, "printn")) {
		bird_note(p->b, t->line, "changed: nothing is printed");
		while (!bird_is(p->b, ";") && bird_peek(p->b, 0)->kind != BIRD_END)
			p->b->at++;
		return bird_take(p->b, ";");
	}
	if (is_type(t->text))
		return declaration(p);
	if (bird_take(p->b, "."))
		return method(p, t->text);
	if (bird_take(p->b, "="))
		return is_variable(p, t->text) ? variable(p, t->text) : assignment(p, t->text);
	return call_statement(p, t->text);
}

static void
statement(struct program *p)
{
	struct bird *b = p->b;
	const struct bird_token *t = bird_peek(b, 0);
	unsigned at = b->at;
	struct scope *scope = p->scope;

	if (t->kind == BIRD_END)
		return;
	if (++p->steps > STEPS_MAX || p->depth >= DEPTH_MAX) {
		bad(p, "the filter is too large");
		not_carried(p, at);
		return;
	}
	if (bird_take(b, ";"))
		return;
	p->depth++;
	b->at++;
	if (is(t->text, "{") && t->kind == BIRD_PUNCT) {
		statements(p);
		scope_end(p, scope);
	} else if (is(t->text, "if")) {
		if_statement(p, at);
	} else if (is(t->text, "case")) {
		case_statement(p, at);
	} else if (!simple_statement(p, t)) {
		not_carried(p, at);
	}
	p->depth--;
}

/* ---- the whole ---- */

/* Numbers the nodes, and writes the numbers to the jumps. */
static void
finish(struct program *p)
{
	json_t *node, *last = json_array_get(p->nodes, json_array_size(p->nodes) - 1), *policy;
	bool jumps = false;
	size_t i;

	json_array_foreach(p->nodes, i, node)
	{
		const json_t *to = json_object_get(node, "label");

		json_object_set_new(node, "seq", json_integer((json_int_t)(i + 1) * 10));
		if (to != NULL) {
			json_object_set_new(node, "goto",
				json_integer((p->label[json_integer_value(to)].place + 1) * 10));
			json_object_del(node, "label");
			jumps = true;
		}
	}
	/* the end of a policy rejects, but for routes that have come by a jump */
	if (!jumps && json_array_size(p->nodes) > 1 && json_object_size(last) == 2 &&
		is(json_string_value(json_object_get(last, "action")), "deny"))
		json_array_remove(p->nodes, json_array_size(p->nodes) - 1);
	policy = import_element(p->b->im->document, "route_policies", "name", p->name);
	json_object_set_new(policy, "nodes", p->nodes);
}

void
bird_filter(struct bird *b, const char *name, struct bird_range header, struct bird_range body,
	bool where)
{
	struct program p = {.b = b,
		.name = name,
		.nodes = json_array(),
		.pending = json_object(),
		.touched = bird_keep(b, json_object()),
		.reachable = true,
		.return_true = NO_LABEL,
		.return_false = NO_LABEL};
	unsigned at = b->at, end = b->end;

	declarations(&p, header);
	b->at = body.at;
	b->end = body.end;
	if (where) {
		struct condition *c = expression(&p);
		int yes = label(&p), no = label(&p);

		if (c == NULL || b->at != b->end) {
			bird_note(b, b->token[body.at].line, "not carried: %s; the policy rejects",
				p.why != NULL ? p.why : "an unknown expression");
			leave(&p, "deny", NO_LABEL);
		} else if (simple(&p, c) != NULL) {
			append(&p, "permit", simple(&p, c), NULL, NO_LABEL);
		} else {
			branch(&p, c, yes, no, yes);
			p.reachable = false;
			place(&p, yes);
			leave(&p, "permit", NO_LABEL);
			place(&p, no);
		}
	} else {
		statement(&p);
	}
	leave(&p, "deny", NO_LABEL);
	b->at = at;
	b->end = end;
	finish(&p);
	json_decref(p.pending);
	free(p.label);
	while (p.cells != NULL) {
		struct cell *c = p.cells;

		p.cells = c->next;
		free(c);
	}
}
