/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/policy_text_impl.h"

#include <stdio.h>
#include <string.h>

static const char *const set_words[] = {"nothing", "prefixes", "AS numbers", "communities",
	"large communities", "extended communities"};

json_t *
text_section(struct policy_text *t, const char *name)
{
	json_t *list = json_object_get(t->document, name);

	if (list == NULL) {
		list = json_array();
		json_object_set_new(t->document, name, list);
	}
	return list;
}

static bool
set_is(struct policy_text *t, struct set_draft *d, const struct token *token, enum set_kind kind)
{
	if (d->kind == SET_NONE)
		d->kind = kind;
	if (d->kind != kind)
		text_fault(t, token, "a set of %s has no %s", set_words[d->kind], set_words[kind]);
	return d->kind == kind && !t->failed;
}

/* PREFIX, PREFIX+ (with all inside), PREFIX{low,high} (lengths). */
static void
set_prefix(struct policy_text *t, struct set_draft *d)
{
	const struct token *token = text_here(t);
	unsigned max = prefix_max_len(token->prefix.afi);
	uint32_t ge = token->prefix.len, le = ge;

	t->at++;
	if (text_take_sign(t, '+')) {
		le = max;
	} else if (text_take_sign(t, '{')) {
		ge = text_need_number(t, "a prefix length");
		text_need_sign(t, ',');
		le = text_need_number(t, "a prefix length");
		text_need_sign(t, '}');
	}
	if (!set_is(t, d, token, SET_PREFIXES))
		return;
	if (ge < token->prefix.len || le > max || ge > le) {
		text_fault(t, token, "lengths from %u to %u do not rise from %u to at most %u", ge,
			le, token->prefix.len, max);
		return;
	}
	if (d->prefixes == NULL && policy_prefix_list_create(&d->prefixes) != 0)
		t->failed = true;
	else if (policy_prefix_list_add(
			 d->prefixes, true, &token->prefix, (uint8_t)ge, (uint8_t)le) != 0)
		t->failed = true;
	d->hash = hash_words(
		d->hash, hash_bytes(&token->prefix, sizeof(token->prefix)), ge << 8 | le);
}

/* A part of a community, in the form of documents. */
static void
community_part(struct policy_text *t, char *out, size_t size)
{
	uint32_t low, high;

	if (text_take_sign(t, '*')) {
		snprintf(out, size, "*");
	} else if (text_take_word(t, "peer.asn")) {
		snprintf(out, size, "peer");
	} else {
		low = high = text_need_number(t, "a number, a range, '*' or peer.asn");
		if (text_take_sign(t, PAIR('.', '.')))
			high = text_need_number(t, "the end of the range");
		if (low == high)
			snprintf(out, size, "%u", low);
		else
			snprintf(out, size, "%u-%u", low, high);
	}
}

/* (A, B), (A, B, C) or (rt, A, B). Returns the kind; SET_NONE after a fault. */
static enum set_kind
need_community(struct policy_text *t, char out[80])
{
	const struct token *token = text_here(t);
	enum set_kind kind = SET_STANDARD;
	struct community_pattern pattern;
	char first[24], second[24], third[24];
	uint8_t bytes[POLICY_COMMUNITY_MAX];
	uint32_t standard;
	bool good;

	text_need_sign(t, '(');
	if (text_is_word(t, "rt") || text_is_word(t, "soo")) {
		snprintf(first, sizeof(first), "%s", text_need_name(t, "rt or soo"));
		kind = SET_EXTENDED;
	} else {
		community_part(t, first, sizeof(first));
	}
	text_need_sign(t, ',');
	community_part(t, second, sizeof(second));
	if (!text_is_sign(t, ')')) {
		text_need_sign(t, ',');
		community_part(t, third, sizeof(third));
		kind = kind == SET_EXTENDED ? kind : SET_LARGE;
		snprintf(out, 80, "%s:%s:%s", first, second, third);
	} else {
		snprintf(out, 80, "%s:%s", first, second);
	}
	text_need_sign(t, ')');
	if (t->failed)
		return SET_NONE;
	if (kind == SET_STANDARD)
		good = policy_community_parse(out, &standard) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_STANDARD, &pattern);
	else if (kind == SET_LARGE)
		good = policy_large_community_parse(out, bytes) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_LARGE, &pattern);
	else
		good = policy_ext_community_parse(out, bytes) == 0 ||
		       policy_pattern_parse(out, COMMUNITIES_EXTENDED, &pattern);
	if (good)
		return kind;
	text_fault(
		t, token, "%s is no community: a part is too large, or a range does not rise", out);
	return SET_NONE;
}

static void
set_element(struct policy_text *t, struct set_draft *d)
{
	const struct token *token = text_here(t);
	const struct symbol *s =
		token->kind == TOKEN_NAME ? text_symbol_find(t, token->text) : NULL;
	uint32_t standard;
	char text[80];

	if (token->kind == TOKEN_PREFIX || token->kind == TOKEN_ADDRESS) {
		set_prefix(t, d);
	} else if (text_is_sign(t, '(')) {
		enum set_kind kind = need_community(t, text);

		if (kind != SET_NONE && set_is(t, d, token, kind))
			json_array_append_new(d->communities, json_string(text));
	} else if (token->kind == TOKEN_NAME && text_parameter_find(t, token->text) == NULL &&
		   s == NULL && policy_community_parse(token->text, &standard) == 0) {
		t->at++;
		if (set_is(t, d, token, SET_STANDARD))
			json_array_append_new(d->communities, json_string(token->text));
	} else if (s != NULL && s->kind == SYMBOL_SET && s->texts != NULL) {
		t->at++;
		if (set_is(t, d, token, s->set))
			json_array_extend(s->set == SET_ASNS ? d->asns : d->communities, s->texts);
	} else {
		uint32_t low = text_need_number(t, "an element of a set"), high = low;

		if (text_take_sign(t, PAIR('.', '.')))
			high = text_need_number(t, "the end of the range");
		if (!t->failed && low > high)
			text_fault(t, token, "the range from %u to %u does not rise", low, high);
		else if (set_is(t, d, token, SET_ASNS))
			json_array_append_new(d->asns,
				low == high ? json_integer(low) : json_sprintf("%u-%u", low, high));
	}
}

void
text_set_store(struct policy_text *t, struct set_draft *d)
{
	static const char *const sections[] = {NULL, NULL, "as_sets", "community_lists",
		"large_community_lists", "ext_community_lists"};
	static const char *const entry_keys[] = {
		NULL, NULL, NULL, "community", "large_community", "ext_community"};
	json_t *entries, *element;
	size_t i;

	snprintf(d->name, sizeof(d->name), "#%u", ++t->list_count);
	if (d->kind == SET_PREFIXES) {
		struct policy_text_prefixes *grown =
			text_grow(t, t->prefixes, t->prefix_count, &t->prefix_size, sizeof(*grown));

		if (grown != NULL)
			t->prefixes = grown;
		if (d->prefixes == NULL) /* all elements have faults */
			return;
		if (grown == NULL || policy_prefix_list_seal(d->prefixes) != 0) {
			t->failed = true;
			return;
		}
		grown[t->prefix_count] =
			(struct policy_text_prefixes){.list = d->prefixes, .hash = d->hash};
		snprintf(grown[t->prefix_count].name, sizeof(grown->name), "%s", d->name);
		t->prefix_count++;
		d->prefixes = NULL;
	} else if (d->kind == SET_ASNS) {
		json_array_append_new(text_section(t, sections[d->kind]),
			json_pack("{s:s, s:O}", "name", d->name, "asns", d->asns));
	} else if (d->kind != SET_NONE) {
		entries = json_array();
		json_array_foreach(d->communities, i, element) json_array_append_new(entries,
			json_pack("{s:s, s:O}", "action", "permit", entry_keys[d->kind], element));
		json_array_append_new(text_section(t, sections[d->kind]),
			json_pack("{s:s, s:o}", "name", d->name, "entries", entries));
	}
}

void
text_set_read(struct policy_text *t, struct set_draft *d)
{
	*d = (struct set_draft){.asns = json_array(), .communities = json_array()};
	if (!text_take_sign(t, '[')) {
		set_element(t, d);
		return;
	}
	while (!t->failed && !text_is_sign(t, ']')) {
		set_element(t, d);
		if (!text_take_sign(t, ',') && !text_is_sign(t, ']'))
			text_expected(t, "',' or ']'");
	}
	text_need_sign(t, ']');
}

void
text_set_drop(struct set_draft *d)
{
	policy_prefix_list_unref(d->prefixes);
	json_decref(d->asns);
	json_decref(d->communities);
}

const json_t *
text_document_entry(const struct policy_text *t, const char *section, const char *name)
{
	const json_t *list = json_object_get(t->source, section), *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *other = json_string_value(json_object_get(entry, "name"));

		if (other != NULL && strcmp(other, name) == 0)
			return entry;
	}
	return NULL;
}

/* The name of a list of the document itself, in the section of a kind of set. */
static bool
document_has_list(const struct policy_text *t, enum set_kind kind, const char *name)
{
	static const char *const sections[] = {NULL, "prefix_lists", "as_sets", "community_lists",
		"large_community_lists", "ext_community_lists"};

	return text_document_entry(t, sections[kind], name) != NULL;
}

json_t *
text_need_set(struct policy_text *t, enum set_kind kind)
{
	const struct token *token = text_here(t);
	const struct symbol *s =
		token->kind == TOKEN_NAME ? text_symbol_find(t, token->text) : NULL;
	struct set_draft d;
	json_t *name = NULL;

	if (s != NULL && s->kind == SYMBOL_SET) {
		t->at++;
		if (s->set != kind)
			text_fault(t, token, "\"%s\" is a set of %s; expected %s", token->text,
				set_words[s->set], set_words[kind]);
		return s->set == kind ? json_string(s->list) : NULL;
	}
	if (token->kind == TOKEN_NAME && s == NULL && document_has_list(t, kind, token->text)) {
		t->at++;
		return json_string(token->text);
	}
	if (token->kind == TOKEN_NAME && s == NULL && kind <= SET_ASNS &&
		text_parameter_find(t, token->text) == NULL) {
		t->at++;
		text_fault(t, token, "there is no set \"%s\"", token->text);
		return NULL;
	}
	text_set_read(t, &d);
	if (!t->failed && d.kind == SET_NONE) {
		text_fault(t, token, "the set is empty");
	} else if (!t->failed && d.kind != kind) {
		text_fault(t, token, "this is a set of %s; expected %s", set_words[d.kind],
			set_words[kind]);
	} else if (!t->failed) {
		text_set_store(t, &d);
		name = json_string(d.name);
	}
	text_set_drop(&d);
	return name;
}
