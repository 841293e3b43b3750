/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <stdio.h>
#include <string.h>

#define PREPEND_MAX 64u

/* Sets or changes a number of `set`. */
static void
change_number(json_t *set, const char *key, uint32_t sign, uint32_t n)
{
	json_t *old = json_object_get(set, key);
	json_int_t v = n;

	if (sign != '=') {
		v = sign == PAIR('+', '=') ? v : -v;
		if (json_is_integer(old)) {
			v += json_integer_value(old);
			v = v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : v;
		} else {
			json_object_set_new(set, key,
				json_pack("{s:I}", v < 0 ? "subtract" : "add", v < 0 ? -v : v));
			return;
		}
	}
	json_object_set_new(set, key, json_integer(v));
}

static const char *const community_sections[] = {
	NULL, NULL, NULL, "communities", "large_communities", "ext_communities"};

/* add X; delete X; with X a community, a list in brackets or the name of a set. */
static void
read_edit(struct policy_text *t, bool add, json_t *set)
{
	const struct token *token = text_here(t);
	const char *key = add ? "add" : "remove";
	struct set_draft d;
	json_t *edit, *values, *value;
	size_t i;

	for (unsigned k = SET_STANDARD; !add && k <= SET_EXTENDED; k++)
		if (text_take_word(t, community_sections[k])) {
			json_object_set_new(
				set, community_sections[k], json_pack("{s:[]}", "replace"));
			return;
		}
	text_set_read(t, &d);
	if (!t->failed && d.kind < SET_STANDARD) {
		text_fault(t, token, "expected communities");
	} else if (!t->failed) {
		edit = json_object_get(set, community_sections[d.kind]);
		if (edit == NULL) {
			edit = json_object();
			json_object_set_new(set, community_sections[d.kind], edit);
		}
		values = json_object_get(edit, key);
		if (values == NULL) {
			values = json_array();
			json_object_set_new(edit, key, values);
		}
		json_array_foreach(d.communities, i, value)
		{
			const char *text = json_string_value(value);

			if (strstr(text, "peer") != NULL && strcmp(text, "no-peer") != 0)
				text_fault(t, token, "peer.asn is only valid in conditions");
			else if (add &&
				 (strchr(text, '*') != NULL ||
					 (strchr(text, '-') != NULL && strchr(text, ':') != NULL)))
				text_fault(t, token,
					"wildcards and ranges are only valid in conditions and in "
					"delete");
			else
				json_array_append(values, value);
		}
	}
	text_set_drop(&d);
}

/* True if `delete` must not share a node with pending changes: a node removes before adding. */
static bool
edit_waits(const struct policy_text *t, bool add)
{
	for (unsigned k = SET_STANDARD; !add && k <= SET_EXTENDED; k++)
		if (json_object_get(json_object_get(t->pending, community_sections[k]), "add") !=
			NULL)
			return true;
	return false;
}

/* prepend(ASN, TIMES); prepend(first, TIMES); TIMES is 1 when absent. */
static void
read_prepend(struct policy_text *t, json_t *set)
{
	const struct token *token, *times;
	bool first;
	uint32_t asn = 0, count = 1;

	text_need_sign(t, '(');
	first = text_take_word(t, "first");
	token = text_here(t);
	if (!first)
		asn = text_need_number(t, "an AS number or first");
	if (!t->failed && !first && (asn == 0 || asn == 23456))
		text_fault(t, token, "%u is not an AS number", asn);
	times = text_here(t);
	if (text_take_sign(t, ',')) {
		times = text_here(t);
		count = text_need_number(t, "how often");
	}
	text_need_sign(t, ')');
	if (!t->failed && (count < 1 || count > PREPEND_MAX))
		text_fault(t, times, "%u times is not from 1 to %u", count, PREPEND_MAX);
	json_object_set_new(set, "as_path_prepend",
		json_pack("{s:o, s:I}", "asn", first ? json_string("first") : json_integer(asn),
			"count", (json_int_t)count));
}

static void
read_next_hop(struct policy_text *t, json_t *set)
{
	static const char *const words[] = {"peer", "self", "discard"};
	char text[ADDR_TEXT_MAX];

	text_need_sign(t, '=');
	for (unsigned i = 0; i < 3; i++)
		if (text_take_word(t, words[i])) {
			json_object_set_new(set, "next_hop", json_string(words[i]));
			return;
		}
	if (t->failed || text_here(t)->kind != TOKEN_ADDRESS) {
		text_expected(t, "an IP address, peer, self or discard");
		return;
	}
	struct ip_addr addr = {.afi = text_here(t)->prefix.afi};
	memcpy(addr.b, text_here(t)->prefix.b, sizeof(text_here(t)->prefix.b));
	if (!config_addr_is_host(&addr) || addr_is_link_local(&addr))
		text_fault(t, text_here(t), "is not the address of a host");
	json_object_set_new(set, "next_hop", json_string(addr_format(&addr, text)));
	t->at++;
}

bool
text_read_change(struct policy_text *t, json_t *set)
{
	static const char *const numbers[] = {"local_pref", "med", "tag"};
	const struct token *token = text_here(t);
	uint32_t sign;

	if (t->failed || token->kind != TOKEN_NAME)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		if (!text_take_word(t, numbers[i]))
			continue;
		sign = text_is_sign(t, PAIR('+', '=')) || text_is_sign(t, PAIR('-', '='))
			       ? text_here(t)->number
			       : '=';
		if (sign == '=')
			text_need_sign(t, '=');
		else
			t->at++;
		if (sign != '=' && i == 2)
			text_fault(t, token, "a tag has no relative changes");
		change_number(set, numbers[i], sign, text_need_number(t, "a number"));
		return true;
	}
	if (text_take_word(t, "origin")) {
		text_need_sign(t, '=');
		if (text_is_word(t, "igp") || text_is_word(t, "egp") ||
			text_is_word(t, "incomplete"))
			json_object_set_new(set, "origin", json_string(t->tokens.at[t->at++].text));
		else
			text_expected(t, "igp, egp or incomplete");
		return true;
	}
	if (text_take_word(t, "next_hop"))
		read_next_hop(t, set);
	else if (text_take_word(t, "add"))
		read_edit(t, true, set);
	else if (text_take_word(t, "delete"))
		read_edit(t, false, set);
	else if (text_take_word(t, "prepend"))
		read_prepend(t, set);
	else
		return false;
	return true;
}

bool
text_change_waits(const struct policy_text *t)
{
	if (text_is_word(t, "delete"))
		return edit_waits(t, false);
	if (text_is_word(t, "prepend"))
		return json_object_get(t->pending, "as_path_prepend") != NULL;
	return (text_is_word(t, "local_pref") || text_is_word(t, "med")) &&
	       json_is_object(json_object_get(t->pending, text_here(t)->text));
}
