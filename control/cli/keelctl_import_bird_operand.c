/* SPDX-License-Identifier: BSD-3-Clause */
/* Operands of BIRD's filters: numbers, communities, prefixes, sets, masks, attributes, names. */
#include "control/cli/keelctl_import_bird_filter_impl.h"

#include <arpa/inet.h>

#define EXPANDED_MAX 4096 /* communities of one element of a set */

/* ---- constants ---- */

bool
filter_take_number(struct program *p, json_int_t *out)
{
	struct operand o = filter_operand(p);

	*out = o.number;
	return o.kind == O_NUMBER || filter_bad(p, "not a number") != NULL;
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
	if (!filter_take_number(p, low))
		return false;
	*high = *low;
	return !bird_take(p->b, "..") || filter_take_number(p, high);
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
community(struct program *p)
{
	struct operand o = {.kind = O_COMMUNITY, .value = bird_keep(p->b, json_array())};
	json_int_t low[3] = {0}, high[3] = {0}, total = 1;
	const char *first = bird_peek(p->b, 0)->text, *kind = is(first, "rt")	? "rt"
							      : is(first, "ro") ? "soo"
										: NULL;
	unsigned n = 0;

	if (kind != NULL && is(bird_peek(p->b, 1)->text, ",")) {
		bird_take(p->b, first);
		bird_take(p->b, ",");
	} else {
		kind = NULL;
	}
	do {
		if (n == 3 || !take_range(p, &low[n], &high[n]))
			return filter_bad_operand(p, "an unknown community");
		n++;
	} while (bird_take(p->b, ","));
	if (!bird_take(p->b, ")") || n < 2 || (kind != NULL && n != 2))
		return filter_bad_operand(p, "an unknown community");
	/* `*` has no numbers */
	for (unsigned i = 0; i < n; i++) {
		json_int_t most = n == 3 || (kind != NULL && (i == 0 || high[0] <= 65535))
					  ? 4294967295ll
					  : 65535;

		if (high[i] != -1 && (low[i] > high[i] || high[i] > most))
			return filter_bad_operand(p, "an unknown community");
	}
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
		return filter_bad_operand(p, "an unknown address");
	if (!bird_take(p->b, "/")) {
		o.kind = O_ADDRESS;
		o.text = address;
		length = most;
	} else if (!filter_take_number(p, &length)) {
		return filter_bad_operand(p, "an unknown prefix");
	}
	if (length > most)
		return filter_bad_operand(p, "an unknown prefix");
	low = high = length;
	if (pattern && bird_take(p->b, "+")) {
		high = most;
	} else if (pattern && bird_take(p->b, "-")) {
		low = 0;
	} else if (pattern && bird_take(p->b, "{")) {
		if (!filter_take_number(p, &low) || !bird_take(p->b, ",") ||
			!filter_take_number(p, &high) || !bird_take(p->b, "}") || high > most ||
			low > high)
			return filter_bad_operand(p, "an unknown range of lengths");
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
		} else {
			e = filter_operand(p);
		}
		if (e.kind == O_NUMBER) {
			high = e.number;
			if (bird_take(p->b, "..") && !filter_take_number(p, &high))
				return filter_bad_operand(p, "an unknown range");
			json_array_append_new(
				o.value, json_pack("{s:I, s:I}", "low", e.number, "high", high));
		} else if (e.kind == O_PREFIX || e.kind == O_ADDRESS || e.kind == O_COMMUNITY) {
			json_array_extend(o.value, e.value);
			if (e.kind == O_COMMUNITY && o.element == O_COMMUNITY &&
				!is(o.text, e.text))
				return filter_bad_operand(p, "a set of several kinds");
			o.text = e.text;
		} else if (e.kind == O_WORD) {
			json_array_append_new(o.value, json_string(e.text));
		} else {
			return filter_bad_operand(p, "an unknown element of a set");
		}
		if (o.element != O_BAD && o.element != e.kind)
			return filter_bad_operand(p, "a set of several kinds");
		o.element = e.kind;
		if (!bird_take(p->b, ",") && !bird_is(p->b, "]"))
			return filter_bad_operand(p, "an unknown set");
	}
	return o;
}

/* After "[=": a mask of AS paths, as a regular expression. */
static struct operand
mask(struct program *p)
{
	char text[1024] = "";
	bool begin = true, any = false; /* any: after `*` */
	unsigned numbers = 0, others = 0;
	bool open = false; /* `*` is before the first element */

	while (!bird_take(p->b, "=]")) {
		char before[8], element[64];
		json_int_t n;

		if (strlen(text) > sizeof(text) - 100)
			return filter_bad_operand(p, "the mask is too long");
		if (bird_take(p->b, "*")) {
			any = true;
			continue;
		}
		if (bird_take(p->b, "?")) {
			others++;
			snprintf(element, sizeof(element), "[^ ]+");
		} else {
			struct operand o = filter_operand(p);

			n = o.number;
			if (o.kind != O_NUMBER || bird_is(p->b, ".."))
				return filter_bad_operand(
					p, "the mask has an element that is no number, * or ?");
			numbers++;
			snprintf(element, sizeof(element), "%lld", (long long)n);
		}
		open = begin ? any : open;
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
	return (struct operand){.kind = O_MASK,
		.any_member = numbers == 0 || (numbers == 1 && others == 0 && open && any),
		.text = json_string_value(bird_keep(p->b, json_string(text)))};
}

/* ---- operands ---- */

bool
filter_calls(const struct program *p, struct bird_range r)
{
	const struct bird_token *t = p->b->token;

	for (unsigned i = r.at; i + 1 < r.end; i++) {
		const struct bird_definition *d = t[i].kind == BIRD_SYMBOL && is(t[i + 1].text, "(")
							  ? bird_find(p->b, t[i].text)
							  : NULL;

		if (d != NULL && d->kind == BIRD_FUNCTION)
			return true;
	}
	return false;
}

/* The arguments of a call, bound to the parameters of a function. False: a different count, or calls in them. */
bool
filter_bound(struct program *p, const struct bird_definition *f, struct scope **out)
{
	unsigned at = f->parameters.at;
	struct scope *scope = NULL;

	while (!bird_take(p->b, ")")) {
		struct scope *s = &filter_cell(p)->u.scope;
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
		if (filter_calls(p, s->value))
			return filter_bad(p, VALUE_CALLS) != NULL;
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
	o = filter_operand(p);
	if (o.kind == O_BAD || p->b->at != p->b->end) {
		p->b->at = r.at;
		p->why = NULL;
		c = filter_expression(p);
		o = c != NULL && p->b->at == p->b->end
			    ? (struct operand){.kind = O_CONDITION, .condition = c}
			    : filter_bad_operand(p, "an expression that policies cannot compute");
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
		return filter_bad_operand(p, "an unknown call");
	d = bird_find(p->b, table);
	if (is(bird_peek(p->b, 2)->text, ",") &&
		!(is(bird_peek(p->b, 3)->text, "net") && is(bird_peek(p->b, 4)->text, ",") &&
			is(bird_peek(p->b, 5)->text, "bgp_path") &&
			is(bird_peek(p->b, 6)->text, ".") &&
			(is(bird_peek(p->b, 7)->text, "last") ||
				is(bird_peek(p->b, 7)->text, "last_nonaggregated")) &&
			is(bird_peek(p->b, 8)->text, ")")))
		return filter_bad_operand(p, "validation is of the prefix and the last AS number");
	bird_skip_brackets(p->b);
	if (d == NULL || (d->kind != BIRD_ROA4 && d->kind != BIRD_ROA6))
		return filter_bad_operand(p, "an unknown ROA table");
	if (p->b->roa_tables[d->kind == BIRD_ROA6] > 1)
		return filter_bad_operand(p, BIRD_ONE_ROA_TABLE);
	if (!p->b->roa_cached[d->kind == BIRD_ROA6])
		return filter_bad_operand(p, "no cache of the table is carried");
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
	return filter_bad_operand(p, "policies have no such part of the path");
}

struct operand
filter_attribute_of(struct program *p, const char *name)
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
			.condition = filter_condition(p, is(name, "true") ? C_TRUE : C_FALSE)};
	if (strncmp(name, "ROA_", 4) == 0 || strncmp(name, "RTS_", 4) == 0 ||
		strncmp(name, "NET_", 4) == 0 || strncmp(name, "ORIGIN_", 7) == 0)
		return (struct operand){.kind = O_WORD, .text = name};
	return filter_bad_operand(p, "policies have no such value");
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
				       : filter_bad_operand(p, "a variable without a value here");
	}
	d = bird_find(p->b, name);
	if (d != NULL && d->kind == BIRD_CONSTANT) {
		d->used = true;
		o = operand_at(p, d->value, NULL);
		o.name = d->name;
		return o;
	}
	if (d != NULL && d->kind == BIRD_FUNCTION && bird_take(p->b, "(")) {
		o = (struct operand){.kind = O_CONDITION, .condition = filter_condition(p, C_CALL)};
		o.condition->function = d;
		return filter_bound(p, d, &o.condition->scope)
			       ? o
			       : filter_bad_operand(p, "a call with other parameters");
	}
	return filter_attribute_of(p, name);
}

struct operand
filter_operand(struct program *p)
{
	const struct bird_token *t = bird_peek(p->b, 0);
	struct operand o = {O_BAD};
	struct condition *c;

	if (++p->steps > STEPS_MAX || p->depth >= DEPTH_MAX)
		return filter_bad_operand(p, "the filter is too large");
	if (t->kind == BIRD_END)
		return filter_bad_operand(p, "an incomplete expression");
	p->depth++;
	p->b->at++;
	if (t->kind == BIRD_NUMBER && t->number == BIRD_NO_NUMBER) {
		o = filter_bad_operand(p, "a number of more than 32 bits");
	} else if (t->kind == BIRD_NUMBER) {
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
		o = filter_operand(p);
		o = o.kind == O_CONDITION
			    ? (struct operand){.kind = O_CONDITION,
				      .condition = filter_combined(p, C_NOT, o.condition, NULL)}
			    : filter_bad_operand(p, "not a condition after !");
	} else if (is(t->text, "(")) {
		unsigned at = p->b->at;

		o = community(p);
		if (o.kind == O_BAD && !(p->why != NULL && strstr(p->why, "communities") != NULL)) {
			p->b->at = at;
			p->why = NULL;
			c = filter_expression(p);
			o = c != NULL && bird_take(p->b, ")")
				    ? (struct operand){.kind = O_CONDITION, .condition = c}
				    : filter_bad_operand(
					      p, "an expression that policies cannot compute");
		}
	} else {
		o = filter_bad_operand(p, "an unknown expression");
	}
	p->depth--;
	return o;
}
