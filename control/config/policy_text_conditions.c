/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALTERNATIVES_MAX 256u /* of a condition: its tree is walked by recursion */

static struct cond *
cond_add(struct policy_text *t, enum cond_kind kind)
{
	struct cond *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		t->failed = true;
		t->lost = (struct cond){0};
		return &t->lost;
	}
	c->kind = kind;
	c->value = true;
	c->next = t->conds;
	t->conds = c;
	return c;
}

void
text_conditions_drop(struct policy_text *t)
{
	for (struct cond *c = t->conds, *next; c != NULL; c = next) {
		next = c->next;
		json_decref(c->values);
		free(c);
	}
	t->conds = NULL;
}

static struct cond *
cond_constant(struct policy_text *t, bool value)
{
	struct cond *c = cond_add(t, COND_CONSTANT);

	c->value = value;
	return c;
}

/* Takes `value`; NULL, after a fault: any condition. */
static struct cond *
cond_leaf(struct policy_text *t, const char *key, json_t *value)
{
	struct cond *c;

	if (value == NULL)
		return cond_constant(t, false);
	c = cond_add(t, COND_LEAF);
	c->key = key;
	c->values = json_array();
	json_array_append_new(c->values, value);
	return c;
}

static struct cond *
cond_not(struct cond *c)
{
	c->value = !c->value;
	if (c->kind == COND_AND || c->kind == COND_OR) {
		c->kind = c->kind == COND_AND ? COND_OR : COND_AND;
		c->a = cond_not(c->a);
		c->b = cond_not(c->b);
	}
	return c;
}

/* Two leaves of a key become a leaf: any of the values. */
static struct cond *
cond_join(struct policy_text *t, enum cond_kind kind, struct cond *a, struct cond *b)
{
	struct cond *c;
	bool same = a->kind == COND_LEAF && b->kind == COND_LEAF && a->value == b->value &&
		    strcmp(a->key, b->key) == 0;

	if (same && a->value == (kind == COND_OR)) {
		json_array_extend(a->values, b->values);
		return a;
	}
	c = cond_add(t, kind);
	c->a = a;
	c->b = b;
	c->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
	if (c->depth > ALTERNATIVES_MAX && !t->failed) {
		text_fault(
			t, text_here(t), "the condition has more than %u parts", ALTERNATIVES_MAX);
		t->failed = true;
	}
	return c;
}

/* A comparison with a number. */
static struct cond *
cond_number(struct policy_text *t, const char *key, uint32_t sign, uint32_t n, bool negate)
{
	uint32_t low = 0, high = UINT32_MAX;
	struct cond *c;

	if (sign == '<') {
		if (n == 0)
			return cond_constant(t, negate);
		high = n - 1;
	} else if (sign == '>') {
		if (n == UINT32_MAX)
			return cond_constant(t, negate);
		low = n + 1;
	} else if (sign == PAIR('<', '=')) {
		high = n;
	} else if (sign == PAIR('>', '=')) {
		low = n;
	} else {
		low = high = n;
	}
	c = cond_leaf(t, key,
		low == high
			? json_integer(low)
			: json_pack("{s:I, s:I}", "ge", (json_int_t)low, "le", (json_int_t)high));
	return negate ? cond_not(c) : c;
}

static uint32_t
need_comparison(struct policy_text *t)
{
	static const uint32_t signs[] = {'=', PAIR('=', '='), PAIR('!', '='), '<', '>',
		PAIR('<', '='), PAIR('>', '='), '~', PAIR('!', '~')};

	for (unsigned i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (text_take_sign(t, signs[i]))
			return signs[i] == PAIR('=', '=') ? '=' : signs[i];
	text_expected(t, "a comparison");
	return '=';
}

enum operand {
	OPERAND_NUMBER, /* any comparison */
	OPERAND_ASN, /* a number, or ~ a set */
	OPERAND_WORD, /* = a word */
	OPERAND_TEXT, /* = a string */
	OPERAND_ADDRESS, /* = an address */
	OPERAND_SET, /* ~ a set */
	OPERAND_PREFIX, /* = a prefix, or ~ a set */
	OPERAND_LENGTH, /* of the prefix */
	OPERAND_PATH, /* ~ a set of AS numbers, or a regular expression */
};

static const struct {
	const char *name, *key;
	enum operand operand;
	enum set_kind set;
	const char *words; /* with blanks around each */
} operands[] = {
	{"net", "prefix_list", OPERAND_PREFIX, SET_PREFIXES, NULL},
	{"net.len", "prefix_list", OPERAND_LENGTH, SET_PREFIXES, NULL},
	{"next_hop", "next_hop_prefix_list", OPERAND_PREFIX, SET_PREFIXES, NULL},
	{"peer.asn", "peer_as", OPERAND_ASN, SET_ASNS, NULL},
	{"peer.address", "peer", OPERAND_ADDRESS, SET_NONE, NULL},
	{"peer.group", "peer_group", OPERAND_TEXT, SET_NONE, NULL},
	{"origin_as", "origin_as", OPERAND_ASN, SET_ASNS, NULL},
	{"first_as", "first_as", OPERAND_ASN, SET_ASNS, NULL},
	{"path", "any_as", OPERAND_PATH, SET_ASNS, NULL},
	{"path.len", "as_path_length", OPERAND_NUMBER, SET_NONE, NULL},
	{"communities", "community_list", OPERAND_SET, SET_STANDARD, NULL},
	{"large_communities", "large_community_list", OPERAND_SET, SET_LARGE, NULL},
	{"ext_communities", "ext_community_list", OPERAND_SET, SET_EXTENDED, NULL},
	{"communities.count", "community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"large_communities.count", "large_community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"ext_communities.count", "ext_community_count", OPERAND_NUMBER, SET_NONE, NULL},
	{"med", "med", OPERAND_NUMBER, SET_NONE, NULL},
	{"local_pref", "local_pref", OPERAND_NUMBER, SET_NONE, NULL},
	{"tag", "tag", OPERAND_NUMBER, SET_NONE, NULL},
	{"origin", "origin", OPERAND_WORD, SET_NONE, " igp egp incomplete "},
	{"source", "source", OPERAND_WORD, SET_NONE,
		" connected static external kernel internal network "},
	{"family", "family", OPERAND_WORD, SET_NONE,
		" ipv4-unicast ipv6-unicast vpnv4-unicast vpnv6-unicast "},
	{"validation", "validation", OPERAND_WORD, SET_NONE, " valid invalid not-found "},
};

bool
text_is_operand(const char *name)
{
	for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++)
		if (strcmp(operands[i].name, name) == 0)
			return true;
	return false;
}

/* A comparison of the prefix length: a list of all prefixes with these lengths. */
static struct cond *
length_condition(struct policy_text *t, uint32_t sign, uint32_t n, bool negate)
{
	uint32_t low = sign == '>' ? n + 1 : sign == '<' || sign == PAIR('<', '=') ? 0 : n;
	uint32_t high = sign == '<' ? n - 1 : sign == '>' || sign == PAIR('>', '=') ? 128 : n;
	struct set_draft d = {.kind = SET_PREFIXES, .hash = hash_words(1, low, high)};
	struct cond *c;

	if ((sign == '<' && n == 0) || low > high || low > 128 || n > 128)
		return cond_constant(
			t, ((sign == '<' || sign == PAIR('<', '=')) && n > 128) != negate);
	if (policy_prefix_list_create(&d.prefixes) != 0) {
		t->failed = true;
		return cond_constant(t, false);
	}
	for (enum afi afi = AFI_IPV4; afi <= AFI_IPV6; afi++) {
		struct prefix all = {.afi = (uint8_t)afi};
		unsigned max = prefix_max_len(afi);

		if (low <= max && policy_prefix_list_add(d.prefixes, true, &all, (uint8_t)low,
					  (uint8_t)(high < max ? high : max)) != 0)
			t->failed = true;
	}
	text_set_store(t, &d);
	c = cond_leaf(t, "prefix_list", json_string(d.name));
	text_set_drop(&d);
	return negate ? cond_not(c) : c;
}

/* A list of one regular expression. */
static json_t *
path_list(struct policy_text *t)
{
	const struct token *token = text_here(t);
	struct policy_as_path_list *l;
	char error[160], name[16];
	int err;

	t->at++;
	if (*token->text == '\0') {
		text_fault(t, token, "the regular expression is empty");
		return NULL;
	}
	if (policy_as_path_list_create(&l) != 0)
		return NULL;
	err = policy_as_path_list_add(l, true, token->text, error, sizeof(error));
	policy_as_path_list_unref(l);
	if (err != 0) {
		text_fault(t, token, "\"%s\" is not a regular expression: %s", token->text,
			err == -EINVAL ? error : strerror(-err));
		return NULL;
	}
	snprintf(name, sizeof(name), "#%u", ++t->list_count);
	json_array_append_new(text_section(t, "as_path_lists"),
		json_pack("{s:s, s:[{s:s, s:s}]}", "name", name, "entries", "action", "permit",
			"regex", token->text));
	return json_string(name);
}

/*
 * `net ~ PREFIX` is a fault: readers of BIRD filters take it for all prefixes inside. `net = PREFIX` has no
 * lengths.
 */
static void
check_prefix(struct policy_text *t, bool in)
{
	const struct token *prefix = text_here(t), *next;
	bool lengths;

	if (prefix->kind != TOKEN_PREFIX && prefix->kind != TOKEN_ADDRESS)
		return;
	next = prefix + 1;
	lengths = next->kind == TOKEN_SIGN && (next->number == '+' || next->number == '{');
	if (in && !lengths && prefix->prefix.len < prefix_max_len(prefix->prefix.afi))
		text_fault(t, prefix,
			"write [PREFIX] for this prefix alone, PREFIX+ for all prefixes inside");
	else if (!in && lengths)
		text_fault(t, next, "'=' takes one prefix; write '~' for lengths");
}

static struct cond *
read_comparison(struct policy_text *t, unsigned operand, const struct token *token)
{
	const char *key = operands[operand].key;
	enum operand kind = operands[operand].operand;
	enum set_kind set = operands[operand].set;
	const struct token *sign_at = text_here(t);
	uint32_t sign = need_comparison(t);
	bool negate = sign == PAIR('!', '=') || sign == PAIR('!', '~');
	bool in = sign == '~' || sign == PAIR('!', '~');
	struct cond *c = NULL;
	char padded[64];

	if (t->failed)
		return cond_constant(t, false);
	if (kind == OPERAND_PREFIX)
		check_prefix(t, in);
	if (in && kind == OPERAND_PATH && text_here(t)->kind == TOKEN_STRING) {
		c = cond_leaf(t, "as_path_list", path_list(t));
	} else if (in && set != SET_NONE && kind != OPERAND_LENGTH) {
		c = cond_leaf(t, key, text_need_set(t, set));
	} else if (in || (sign != '=' && sign != PAIR('!', '=') && kind != OPERAND_NUMBER &&
				 kind != OPERAND_ASN && kind != OPERAND_LENGTH)) {
		text_fault(t, sign_at, "\"%s\" has no such comparison", token->text);
		t->failed = true;
	} else if ((strcmp(key, "first_as") == 0 || strcmp(key, "origin_as") == 0) &&
		   text_is_word(t, "peer.asn")) {
		if (sign != '=' && sign != PAIR('!', '='))
			text_fault(t, sign_at, "\"%s\" and peer.asn are equal or not", token->text);
		t->at++;
		c = cond_leaf(t, key, json_string("peer.asn"));
	} else if (kind == OPERAND_NUMBER || kind == OPERAND_ASN) {
		return cond_number(t, key, sign, text_need_number(t, "a number"), negate);
	} else if (kind == OPERAND_LENGTH) {
		return length_condition(t, sign, text_need_number(t, "a prefix length"), negate);
	} else if (kind == OPERAND_TEXT && text_here(t)->kind == TOKEN_STRING) {
		c = cond_leaf(t, key, json_string(t->tokens.at[t->at++].text));
	} else if (kind == OPERAND_ADDRESS && text_here(t)->kind == TOKEN_ADDRESS) {
		char text[ADDR_TEXT_MAX];
		const struct prefix *p = &t->tokens.at[t->at++].prefix;
		struct ip_addr addr = {.afi = p->afi};

		memcpy(addr.b, p->b, sizeof(p->b));
		c = cond_leaf(t, key, json_string(addr_format(&addr, text)));
	} else if (kind == OPERAND_PREFIX &&
		   (text_here(t)->kind == TOKEN_PREFIX || text_here(t)->kind == TOKEN_ADDRESS)) {
		c = cond_leaf(t, key, text_need_set(t, set));
	} else if (kind == OPERAND_WORD && text_here(t)->kind == TOKEN_NAME) {
		snprintf(padded, sizeof(padded), " %.60s ", text_here(t)->text);
		if (strstr(operands[operand].words, padded) == NULL)
			text_fault(t, text_here(t), "\"%s\" is none of:%s", text_here(t)->text,
				operands[operand].words);
		else
			c = cond_leaf(t, key, json_string(text_here(t)->text));
		t->at++;
	} else {
		text_expected(t, kind == OPERAND_TEXT	   ? "a string"
				 : kind == OPERAND_ADDRESS ? "an IP address"
				 : kind == OPERAND_PREFIX  ? "a prefix"
				 : kind == OPERAND_WORD	   ? "a word"
							   : "a comparison with '~'");
	}
	if (c == NULL)
		c = cond_constant(t, false);
	return negate ? cond_not(c) : c;
}

void
text_read_arguments(struct policy_text *t, const struct token *token, const struct symbol *s,
	uint32_t arguments[ARGUMENTS_MAX])
{
	unsigned n = 0;

	text_need_sign(t, '(');
	while (!t->failed && !text_is_sign(t, ')')) {
		uint32_t v = text_need_number(t, "an argument");

		if (n < ARGUMENTS_MAX)
			arguments[n] = v;
		n++;
		if (!text_take_sign(t, ',') && !text_is_sign(t, ')'))
			text_expected(t, "',' or ')'");
	}
	text_need_sign(t, ')');
	if (!t->failed && n != s->parameter_count)
		text_fault(t, token, "\"%s\" takes %u arguments, not %u", token->text,
			s->parameter_count, n);
}

static struct cond *
read_primary(struct policy_text *t)
{
	const struct token *token = text_here(t);
	const struct symbol *s;
	struct cond *c = NULL;

	if (!text_enter(t)) {
		text_leave(t);
		return cond_constant(t, false);
	}
	if (text_take_sign(t, '!') || text_take_word(t, "not")) {
		c = cond_not(read_primary(t));
	} else if (text_take_sign(t, '(')) {
		c = text_read_condition(t);
		text_need_sign(t, ')');
	} else if (text_take_word(t, "true") || text_take_word(t, "false")) {
		c = cond_constant(t, token->text[0] == 't');
	} else if (token->kind == TOKEN_NAME) {
		for (unsigned i = 0; c == NULL && i < sizeof(operands) / sizeof(operands[0]); i++)
			if (strcmp(operands[i].name, token->text) == 0) {
				t->at++;
				c = read_comparison(t, i, token);
			}
		s = c == NULL ? text_symbol_find(t, token->text) : NULL;
		if (s != NULL && s->kind == SYMBOL_FUNCTION) {
			t->at++;
			c = cond_add(t, COND_CALL);
			c->function = s;
			text_read_arguments(t, token, s, c->arguments);
		} else if (c == NULL && !t->failed) {
			text_fault(
				t, token, "there is no condition or function \"%s\"", token->text);
			t->failed = true;
		}
	} else {
		text_expected(t, "a condition");
	}
	text_leave(t);
	return c != NULL ? c : cond_constant(t, false);
}

static struct cond *
read_and(struct policy_text *t)
{
	struct cond *c = read_primary(t);

	while (text_take_sign(t, PAIR('&', '&')) || text_take_word(t, "and"))
		c = cond_join(t, COND_AND, c, read_primary(t));
	return c;
}

struct cond *
text_read_condition(struct policy_text *t)
{
	struct cond *c = read_and(t);

	while (text_take_sign(t, PAIR('|', '|')) || text_take_word(t, "or"))
		c = cond_join(t, COND_OR, c, read_and(t));
	return c;
}
