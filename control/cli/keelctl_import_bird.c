/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import bird: a configuration of BIRD 2: static routes, tables of ROAs, the top of the file. Statements
 * run over lines, so the file is split into tokens, and each line gets the strongest verdict of its tokens.
 * Reading: keelctl_import_bird_read.c; protocols of BGP: keelctl_import_bird_bgp.c; filters:
 * keelctl_import_bird_filter.c.
 */
#include "control/cli/keelctl_import_bird.h"

#include <stdlib.h>

#define STATIC_POLICY "bird-origin" /* static and connected routes have ORIGIN IGP in BIRD */

/* ---- other protocols ---- */

/*
 * Originates the routes of a source, with the ORIGIN of BIRD. `families`: {FAMILY: {policy}} of the
 * routes; NULL: all families.
 */
static void
originate(struct bird *b, const char *source, json_t *families)
{
	json_t *policies = member_made(b->im->document, "route_policies", json_array()), *o;

	if (import_named(policies, "name", STATIC_POLICY) == NULL)
		json_array_append_new(policies,
			json_pack("{s:s, s:[{s:i, s:s, s:{s:s}}]}", "name", STATIC_POLICY, "nodes",
				"seq", 10, "action", "permit", "set", "origin", "igp"));
	policies = member_made(b->im->bgp, "redistribute", json_array());
	o = import_named(policies, "source", source);
	if (o == NULL) {
		o = json_pack("{s:s, s:s}", "source", source, "policy", STATIC_POLICY);
		json_array_append_new(policies, o);
	}
	if (families != NULL)
		json_object_update(member_made(o, "_families", json_object()), families);
}

/* After `route`. Appends to `routes`. */
static bool
static_route(struct bird *b, json_t *routes)
{
	json_t *made = json_array(), *o;
	size_t i;
	unsigned line = bird_peek(b, 0)->line;
	const char *address;
	char text[64];
	bool good = bird_take_prefix(b, text, sizeof(text));

	if (good && (bird_is(b, "blackhole") || bird_is(b, "unreachable") ||
			    bird_is(b, "prohibit") || bird_is(b, "reject"))) {
		if (!bird_take(b, "blackhole")) {
			b->at++;
			bird_note(b, line, "changed: packets are dropped without an answer");
		}
		json_array_append_new(
			made, json_pack("{s:s, s:b}", "prefix", text, "blackhole", true));
	} else {
		while (good && bird_take(b, "via")) {
			good = bird_take_address(b, &address);
			if (good && bird_take(b, "%")) {
				json_array_append_new(
					made, json_pack("{s:s, s:o}", "prefix", text, "next_hop",
						      json_sprintf("%s%%%s", address,
							      bird_peek(b, 0)->text)));
				b->at++;
			} else if (good) {
				json_array_append_new(made, json_pack("{s:s, s:s}", "prefix", text,
								    "next_hop", address));
			}
		}
	}
	good = good && json_array_size(made) > 0 && bird_is(b, ";");
	json_array_foreach(made, i, o)
		json_object_set_new(o, "_line", json_integer((json_int_t)line));
	if (good)
		json_array_extend(routes, made);
	json_decref(made);
	return good;
}

/* A channel without a policy: ipv4; ipv4 { import all; }. Adds its family, with the policy of the source. */
static bool
plain_channel(struct bird *b, json_t *families)
{
	const char *family = bird_is(b, "ipv4") ? "ipv4-unicast" : "ipv6-unicast";

	if (!bird_take(b, "ipv4") && !bird_take(b, "ipv6"))
		return false;
	json_object_set_new(families, family, json_pack("{s:s}", "policy", STATIC_POLICY));
	if (!bird_take(b, "{"))
		return bird_is(b, ";");
	while (!bird_take(b, "}")) {
		if (!(bird_take_words(b, "import all;") || bird_take_words(b, "export none") ||
			    bird_take_words(b, "import all") ||
			    bird_take_words(b, "table master4") ||
			    bird_take_words(b, "table master6")) ||
			!bird_take(b, ";"))
			return false;
	}
	return true;
}

static void
add_routes(struct bird *b, json_t *routes)
{
	char why[64];
	json_t *o;
	size_t i;

	json_array_foreach(routes, i, o)
	{
		unsigned line = (unsigned)number_of(o, "_line");

		if (!import_static_route(b->im, json_incref(o), why))
			bird_note(b, line, "%s", why);
	}
}

static void
static_protocol(struct bird *b, unsigned line)
{
	json_t *routes = json_array(), *families = json_object();
	bool off = false, filtered = false;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		bool channel = bird_is(b, "ipv4") || bird_is(b, "ipv6"), good = true;

		if (bird_take(b, "disabled"))
			off = bird_take_switch(b);
		else if (bird_take(b, "route"))
			good = static_route(b, routes);
		else
			good = plain_channel(b, families) || bird_no_route(b) ||
			       (bird_take(b, "description") && bird_peek(b, 0)->kind == BIRD_TEXT &&
				       ++b->at);
		if (bird_take(b, ";") || (good && is(b->token[b->at - 1].text, "}")))
			good = good || b->at == at + 1;
		else
			good = false;
		filtered = filtered || (channel && !good);
		if (!good)
			bird_whole(b, at, "not carried: keel.json has no key of this meaning");
	}
	if (filtered)
		bird_note(b, line,
			"not carried: the channel has a filter or another table; the routes are "
			"left out");
	else if (off)
		bird_note(b, line, "changed: left out; the protocol is disabled");
	else if (json_array_size(routes) > 0) {
		add_routes(b, routes);
		originate(b, "static", NULL);
	}
	json_decref(families);
	json_decref(routes);
}

static void
direct_protocol(struct bird *b)
{
	json_t *families = json_object();
	bool all = true, off = false;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;

		if (plain_channel(b, families)) {
			bird_take(b, ";");
		} else if (bird_take(b, "disabled")) {
			off = bird_take_switch(b);
			bird_take(b, ";");
		} else if (!bird_take(b, ";")) {
			b->at = at;
			all = false;
			bird_whole(b, at, "not carried: connected routes of named interfaces");
		}
	}
	off = off || json_object_size(families) == 0;
	if (all && !off)
		originate(b, "connected", families);
	b->has_direct = b->has_direct || !off;
	json_decref(families);
}

/* After roa4 or roa6: a channel without a filter. keeld has one table of ROAs. */
static bool
roa_channel(struct bird *b)
{
	unsigned line = b->token[b->at - 1].line;

	if (b->roa_tables[is(b->token[b->at - 1].text, "roa6")] > 1)
		bird_note(b, line, "not carried: " BIRD_ONE_ROA_TABLE);
	if (!bird_take(b, "{"))
		return true;
	while (!bird_take(b, "}")) {
		if (bird_take(b, "table"))
			b->at++;
		else if (!bird_take_words(b, "import all") && !bird_take_words(b, "export none"))
			return false;
		if (!bird_take(b, ";"))
			return false;
	}
	return true;
}

static void
rpki_protocol(struct bird *b, unsigned line)
{
	json_t *cache = json_object();
	const char *address;
	json_int_t n;

	bird_take(b, "{");
	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		bool good = false;

		if (bird_take(b, ";"))
			continue;
		if (bird_take(b, "roa4") || bird_take(b, "roa6")) {
			good = roa_channel(b);
		} else if (bird_take(b, "remote")) {
			good = bird_take_address(b, &address) ||
			       (bird_peek(b, 0)->kind == BIRD_TEXT &&
				       text_is_address(address = bird_peek(b, 0)->text) && ++b->at);
			if (good)
				json_object_set_new(cache, "address", json_string(address));
			if (good && bird_take(b, "port") &&
				(good = bird_take_within(b, 1, 65535, &n)))
				json_object_set_new(cache, "port", json_integer(n));
		} else if (bird_take(b, "port") && bird_take_within(b, 1, 65535, &n)) {
			good = true;
			json_object_set_new(cache, "port", json_integer(n));
		} else if (bird_take_words(b, "transport tcp")) {
			good = true;
		} else if (bird_take(b, "refresh") || bird_take(b, "retry") ||
			   bird_take(b, "expire")) {
			bird_note(
				b, b->token[at].line, "changed: the times of the cache are in use");
			while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			good = true;
		}
		if (!good || !bird_take(b, ";"))
			bird_whole(b, at, "not carried: keel.json has no key of this meaning");
	}
	b->im->verdict[0] = '\0';
	if (!import_cache(b->im, cache))
		bird_note(b, line, "%s", b->im->verdict);
}

/* A kernel protocol: keeld writes no kernel routes. */
static void
kernel_protocol(struct bird *b, unsigned at)
{
	unsigned end;
	json_int_t n;

	b->at = at;
	bird_skip(b);
	end = b->at;
	for (b->at = at; b->at < end; b->at++) {
		if (bird_is(b, "learn"))
			bird_note(b, bird_peek(b, 0)->line,
				"not carried: routes of the kernel are not learned");
		if (bird_take_words(b, "merge paths")) {
			if (!bird_take_switch(b))
				continue;
			n = 16; /* without `limit` */
			if (bird_take(b, "limit") && bird_take_number(b, &n) &&
				n > IMPORT_PATHS_MAX) {
				n = IMPORT_PATHS_MAX;
				bird_note(b, bird_peek(b, 0)->line,
					"changed: max_paths is 64, the largest value");
			}
			if (n > 0)
				json_object_set_new(b->im->bgp, "max_paths", json_integer(n));
		}
	}
	/* last: a verdict of one line is more than the verdict of the block */
	bird_whole(b, at, "changed: workers forward, and the table of the kernel stays as it is");
}

static void
protocol(struct bird *b, unsigned at)
{
	const char *type = bird_peek(b, 0)->text;
	unsigned line = b->token[at].line;

	b->at++;
	if (is(type, "bgp")) {
		bird_bgp(b, false, line);
		return;
	}
	if (is(type, "kernel")) {
		kernel_protocol(b, at);
		return;
	}
	if (is(type, "device")) {
		b->at = at;
		bird_skip(b);
		return;
	}
	if (is(type, "static") || is(type, "direct") || is(type, "rpki")) {
		if (!bird_is(b, "{"))
			b->at++;
		if (bird_is(b, "{")) {
			if (is(type, "static"))
				static_protocol(b, line);
			else if (is(type, "direct"))
				direct_protocol(b);
			else
				rpki_protocol(b, line);
			return;
		}
	}
	bird_whole(b, at, "not carried: keeld has no protocol of this kind");
}

/* ---- the top of the file ---- */

static void
define(struct bird *b, const char *name, int kind, struct bird_range parameters,
	struct bird_range header, struct bird_range value)
{
	struct bird_definition *d = calloc(1, sizeof(*d)), **last = &b->definitions;

	if (d == NULL)
		abort();
	d->name = name;
	d->kind = kind;
	d->parameters = parameters;
	d->header = header;
	d->value = value;
	while (*last != NULL)
		last = &(*last)->next;
	*last = d;
}

/* A protocol whose cache has an address, and the tables that the cache fills. Takes the protocol. */
static void
find_cache(struct bird *b)
{
	bool has[2] = {false, false}, address = false;
	unsigned at = b->at, end;

	bird_skip(b);
	end = b->at;
	for (b->at = at; b->at < end; b->at++) {
		const char *text = bird_peek(b, 1)->text;
		const struct bird_definition *d = bird_find(b, text);

		has[0] = has[0] || bird_is(b, "roa4");
		has[1] = has[1] || bird_is(b, "roa6");
		if (bird_is(b, "remote"))
			address = text_is_address(text) ||
				  (d != NULL && d->kind == BIRD_CONSTANT &&
					  text_is_address(b->token[d->value.at].text));
	}
	for (unsigned k = 0; k < 2; k++)
		b->roa_cached[k] = b->roa_cached[k] || (has[k] && address);
}

/* Finds constants, functions, filters, tables of ROAs and static protocols. */
static void
definitions(struct bird *b)
{
	while (bird_peek(b, 0)->kind != BIRD_END) {
		struct bird_range none = {0}, parameters = {0}, header, value;
		const char *word = bird_peek(b, 0)->text, *name = bird_peek(b, 1)->text;
		unsigned at = b->at;

		if (is(word, "define") && is(bird_peek(b, 2)->text, "=")) {
			value.at = at + 3;
			while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			value.end = b->at;
			define(b, name, BIRD_CONSTANT, none, none, value);
		} else if (is(word, "roa4") || is(word, "roa6")) {
			if (is(name, "table")) {
				define(b, bird_peek(b, 2)->text,
					is(word, "roa4") ? BIRD_ROA4 : BIRD_ROA6, none, none, none);
				b->roa_tables[is(word, "roa6")]++;
			}
		} else if (is(word, "protocol") && is(name, "static")) {
			b->static_count++;
			b->originates = true;
			define(b, bird_peek(b, 2)->text, BIRD_STATIC, none, none, none);
		} else if (is(word, "protocol") && is(name, "rpki")) {
			find_cache(b);
			continue;
		} else if (is(word, "protocol") && is(name, "direct")) {
			b->originates = true;
		} else if (is(word, "function") || is(word, "filter")) {
			b->at += 2;
			if (is(word, "function") && bird_is(b, "(")) {
				parameters.at = b->at + 1;
				bird_skip_brackets(b);
				parameters.end = b->at - 1;
			}
			header.at = b->at;
			while (!bird_is(b, "{") && bird_peek(b, 0)->kind != BIRD_END)
				b->at++;
			header.end = value.at = b->at;
			bird_skip_brackets(b);
			value.end = b->at;
			define(b, name, is(word, "filter") ? BIRD_FILTER : BIRD_FUNCTION,
				parameters, header, value);
			continue;
		}
		bird_skip(b);
		if (b->at == at)
			b->at++;
	}
	b->at = 0;
	for (unsigned i = 2; i < b->token_count; i++) {
		struct bird_definition *d;

		if (is(b->token[i - 1].text, "filter") && is(b->token[i - 2].text, "export") &&
			(d = bird_find(b, b->token[i].text)) != NULL)
			d->exports = true;
	}
}

static bool
top_statement(struct bird *b, unsigned at)
{
	static const char *const idle[] = {"log", "debug", "mrtdump", "timeformat", "watchdog",
		"hostname", "threads", "define"};
	const char *word = bird_peek(b, 0)->text, *address;
	struct bird_definition *d;
	char name[64];

	for (unsigned i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		if (is(word, idle[i]))
			return bird_skip(b), true;
	}
	if (bird_take_words(b, "router id"))
		return bird_take_address(b, &address) && bird_take(b, ";") &&
		       bird_set_id(
			       b, json_object_get(b->im->document, "router"), "router_id", address);
	b->at++;
	if (is(word, "protocol"))
		return protocol(b, at), true;
	if (is(word, "template") && bird_take(b, "bgp"))
		return bird_bgp(b, true, b->token[at].line), true;
	if (is(word, "filter")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		/* a name that was defined before */
		if (d == NULL || d->kind != BIRD_FILTER || d->value.at < b->at)
			return false;
		bird_policy_name(b, d->name, b->token[at].line, name);
		bird_filter(b, name, d->header, d->value, false, d->exports);
		b->at = d->value.end;
		return true;
	}
	if (is(word, "function")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		if (d == NULL || d->kind != BIRD_FUNCTION || d->value.at < b->at)
			return false;
		b->at = d->value.end;
		return true;
	}
	if ((is(word, "roa4") || is(word, "roa6")) && bird_take(b, "table"))
		return ++b->at, bird_take(b, ";");
	return (is(word, "ipv4") || is(word, "ipv6")) && bird_take(b, "table") &&
	       (bird_take(b, "master4") || bird_take(b, "master6")) &&
	       (bird_take(b, "sorted") || true) && bird_take(b, ";");
}

/* Functions are translated where filters call them. */
static void
unused(struct bird *b)
{
	for (struct bird_definition *d = b->definitions; d != NULL; d = d->next) {
		if (d->kind != BIRD_FUNCTION || d->used || d->value.end <= d->value.at)
			continue;
		for (unsigned l = b->token[d->value.at].line; l <= b->token[d->value.end - 1].line;
			l++)
			bird_note(b, l, "changed: left out; no filter calls the function");
	}
}

void
import_bird(struct import *im, FILE *in)
{
	struct bird b = {.im = im, .pool = json_array()};

	b.line = calloc(1, sizeof(*b.line));
	if (b.line == NULL)
		abort();
	bird_read_lines(&b, in, im->path, 0);
	bird_tokens(&b);
	definitions(&b);
	while (bird_peek(&b, 0)->kind != BIRD_END) {
		unsigned at = b.at;

		if (bird_take(&b, ";"))
			continue;
		if (!top_statement(&b, at) || b.at == at)
			bird_whole(&b, at, "not carried: keel.json has no key of this meaning");
	}
	unused(&b);
	bird_finish_peers(&b);
	for (unsigned l = 1; l <= b.line_count; l++) {
		if (b.line[l].has_tokens)
			import_report_at(im, b.line[l].place, b.line[l].number, b.line[l].text,
				b.line[l].verdict);
		if (b.line[l].place == NULL)
			im->line = b.line[l].number;
		free(b.line[l].text);
		free(b.line[l].place);
	}
	for (unsigned i = 0; i < b.token_count; i++)
		free(b.token[i].text);
	while (b.definitions != NULL) {
		struct bird_definition *d = b.definitions;

		b.definitions = d->next;
		free(d);
	}
	free(b.token);
	free(b.line);
	json_decref(b.pool);
}
