/* SPDX-License-Identifier: BSD-3-Clause */
/* Conditions of BIRD's filters: comparisons of operands, and the lists that the comparisons need. */
#include "control/cli/keelctl_import_bird_filter_impl.h"

/* ---- lists ---- */

/* A new list of the document, or the one with the name of the constant. *fresh: has no entries yet. */
static json_t *
list(struct program *p, const char *section, const char *name, const char *kind, bool *fresh,
	char buf[64])
{
	json_t *sections = member_made(p->b->im->document, section, json_array()), *l;

	char original[256];

	import_name_text(name != NULL ? name : "", buf);
	snprintf(buf + strnlen(buf, 44), 20, "%s%s", *kind != '\0' ? "-" : "", kind);
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
	return filter_leaf(p, key, json_string(name), read);
}

/* Lengths of both families. */
static struct condition *
on_lengths(struct program *p, json_int_t low, json_int_t high)
{
	struct operand o = {.kind = O_SET, .value = bird_keep(p->b, json_array())};

	if (low > high || low > 128)
		return filter_condition(p, C_FALSE);
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
	bool fresh, zero;
	json_t *entries = list(p, "as_path_lists", o->name, kind, &fresh, name), *e;
	size_t i;

	if (!fresh)
		return filter_leaf(p, "as_path_list", json_string(name), A_PATH);
	/* the first and the last number of an empty path are 0 */
	zero = o->kind == O_NUMBER && o->number == 0;
	json_array_foreach(o->value, i, e) zero = zero || number_of(e, "low") == 0;
	if (zero && !is(kind, "any")) {
		entry(entries, "regex", "^$");
		/* as they are of a path that begins or ends with an AS set */
		entry(entries, "regex", is(kind, "first") ? "^\\{" : "\\}$");
	}
	if (o->kind == O_NUMBER)
		number_regexes(entries, (unsigned long long)o->number,
			(unsigned long long)o->number, before, after);
	json_array_foreach(o->value, i, e)
		number_regexes(entries, (unsigned long long)number_of(e, "low"),
			(unsigned long long)number_of(e, "high"), before, after);
	share(p, "as_path_lists", o->name, name);
	return filter_leaf(p, "as_path_list", json_string(name), A_PATH);
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
		return filter_bad(p, "a community of another kind");
	entries = list(p, kinds[k].section, o->name, "", &fresh, name);
	if (fresh) {
		json_array_foreach(o->value, i, e)
			entry(entries, kinds[k].key, json_string_value(e));
	}
	share(p, kinds[k].section, o->name, name);
	c = filter_leaf(p, kinds[k].match, json_string(name), kinds[k].read);
	c->values = o->value;
	return c;
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

			one = filter_combined(
				p, C_AND, on_range(p, l, ">=", &n), on_range(p, l, "<=", &m));
			c = c != NULL ? filter_combined(p, C_OR, c, one) : one;
		}
		return c != NULL ? c : filter_condition(p, C_FALSE);
	}
	if (r->kind != O_NUMBER || !range_of(op, r->number, &low, &high))
		return filter_bad(p, "not a comparison with a number");
	if (low > high)
		return filter_condition(p, C_FALSE);
	if (l->kind == O_NET_LEN)
		return on_lengths(p, low, high);
	return filter_leaf(p, l->kind == O_PATH_LEN ? "as_path_length" : "local_pref",
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
		c = filter_leaf(p, words[i].key,
			words[i].value2 != NULL
				? json_pack("[s, s]", words[i].value, words[i].value2)
				: json_string(words[i].value),
			l->kind == O_ORIGIN ? A_ORIGIN : 0);
		if (l->kind != O_ROA)
			return c;
		/* a table has the prefixes of one family; prefixes of the other family are unknown */
		family = filter_leaf(p, "family", json_string(l->text), 0);
		return is(word, "ROA_UNKNOWN") ? filter_combined(p, C_OR,
							 filter_combined(p, C_NOT, family, NULL), c)
					       : filter_combined(p, C_AND, family, c);
	}
	if (l->kind == O_SOURCE && strncmp(word, "RTS_", 4) == 0)
		return filter_bad(p, "routes of this source are not in keeld");
	return filter_bad(p, "an unknown comparison");
}

static struct condition *
on_proto(struct program *p, const char *name)
{
	struct bird_definition *d = bird_find(p->b, name);

	if (d == NULL || d->kind != BIRD_STATIC || p->b->static_count != 1)
		return filter_bad(p, "policies do not know protocols by their names");
	return filter_leaf(p, "source", json_string("static"), 0);
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
			(is(op, "~") && r->kind == O_SET && r->element == O_ADDRESS))
			return on_prefixes(p, "next_hop_prefix_list", r, A_NEXT_HOP);
		break;
	case O_PATH:
		if (r->kind == O_MASK) {
			char name[64];
			bool fresh;
			json_t *entries = list(p, "as_path_lists", NULL, "", &fresh, name);

			if (!r->any_member)
				bird_note(p->b, p->b->token[p->b->at - 1].line,
					"changed: members of an AS set (RFC 9774) do not match the "
					"numbers of the mask");
			entry(entries, "regex", r->text);
			share(p, "as_path_lists", NULL, name);
			return filter_leaf(p, "as_path_list", json_string(name), A_PATH);
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
				c = c != NULL ? filter_combined(p, C_OR, c, one) : one;
			}
			return c;
		}
		break;
	default:
		break;
	}
	return filter_bad(p, "an unknown comparison");
}

/*
 * A static or connected route has no BGP attributes in an export filter of BIRD: the attribute is less than
 * all values, `~` ends the filter with an error, which rejects the route, and `case` goes to `else`.
 */
static struct condition *
undefined(struct program *p, const struct operand *l, const char *op, struct condition *c)
{
	struct condition *received;

	if (c == NULL || !p->undefined ||
		(l->kind != O_LOCAL_PREF && l->kind != O_ORIGIN && l->kind != O_NEXT_HOP))
		return c;
	if (is(op, "~") && !p->in_case)
		return filter_combined(p, C_DEFINED, c, NULL);
	received = filter_leaf(p, "source", json_pack("[s, s]", "external", "internal"), 0);
	return is(op, "<") || is(op, "<=")
		       ? filter_combined(p, C_OR, filter_combined(p, C_NOT, received, NULL), c)
		       : filter_combined(p, C_AND, received, c);
}

struct condition *
filter_compared(struct program *p, struct operand *l, const char *op, struct operand *r)
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
		c = filter_condition(p, l->number >= low && l->number <= high ? C_TRUE : C_FALSE);
	else if (l->kind == O_CONDITION && r->kind == O_CONDITION && is(op, "=") &&
		 (r->condition->kind == C_TRUE || r->condition->kind == C_FALSE))
		c = r->condition->kind == C_TRUE ? l->condition
						 : filter_combined(p, C_NOT, l->condition, NULL);
	else if (l->kind == O_NET_LEN || l->kind == O_PATH_LEN || l->kind == O_LOCAL_PREF)
		c = on_range(p, l, op, r);
	else
		c = compared_equal(p, l, op, r);
	c = undefined(p, l, op, c);
	return c != NULL && negative ? filter_combined(p, C_NOT, c, NULL) : c;
}

static struct condition *
comparison(struct program *p)
{
	static const char *const ops[] = {"=", "!=", "<", ">", "<=", ">=", "~", "!~"};
	struct operand l = filter_operand(p), r;

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (l.kind != O_BAD && bird_take(p->b, ops[i])) {
			r = filter_operand(p);
			return filter_compared(p, &l, ops[i], &r);
		}
	}
	return l.kind == O_CONDITION ? l.condition
				     : filter_bad(p, "an expression that is not a condition");
}

/* NULL: the reason is in p->why. `&&` and `||` have one precedence in BIRD, from left to right. */
struct condition *
filter_expression(struct program *p)
{
	struct condition *c, *other;
	bool both;

	if (++p->depth > DEPTH_MAX) {
		p->depth--;
		return filter_bad(p, "the expression is too deep");
	}
	c = comparison(p);
	while (c != NULL && ((both = bird_take(p->b, "&&")) || bird_take(p->b, "||"))) {
		other = comparison(p);
		c = other != NULL ? filter_combined(p, both ? C_AND : C_OR, c, other) : NULL;
	}
	p->depth--;
	return c;
}
