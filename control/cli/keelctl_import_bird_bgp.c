/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import bird: protocols and templates of BGP with their channels, as neighbours, groups and ranges.
 */
#include "control/cli/keelctl_import_bird.h"

#include <arpa/inet.h>

#define MULTIHOP_TTL 64 /* of `multihop` without a number */
/* temporary keys of a family: a limit of BIRD, or false: off */
#define IMPORT_LIMIT "_import_limit"
#define RECEIVE_LIMIT "_receive_limit"

/* ---- policies of a channel ---- */

/* all | none | filter NAME | filter { } | where EXPRESSION. False: unknown. */
static bool
policy(struct bird *b, json_t *family, const char *key, const char *own_name)
{
	unsigned line = bird_peek(b, 0)->line;
	struct bird_definition *d;
	struct bird_range body;
	char buf[64];

	if (bird_take(b, "all"))
		return json_object_set_new(family, key, json_string("accept-all")) == 0;
	if (bird_take(b, "none"))
		return json_object_set_new(family, key, json_string("deny-all")) == 0;
	if (bird_take(b, "filter") && !bird_is(b, "{")) {
		d = bird_find(b, bird_peek(b, 0)->text);
		if (d == NULL || d->kind != BIRD_FILTER)
			return false;
		b->at++;
		return json_object_set_new(family, key,
			       json_string(bird_policy_name(b, d->name, line, buf))) == 0;
	}
	body.at = b->at;
	if (bird_is(b, "{")) {
		bird_skip_brackets(b);
	} else if (bird_take(b, "where")) {
		body.at = b->at;
		while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
			b->at++;
	} else {
		return false;
	}
	body.end = b->at;
	bird_policy_name(b, own_name, line, buf);
	bird_filter(b, buf, (struct bird_range){0}, body,
		!is(b->token[body.at].text, "{") || b->token[body.at].kind != BIRD_PUNCT,
		is(key, "export_policy"));
	return json_object_set_new(family, key, json_string(buf)) == 0;
}

/* The limit of the channel is off: `key` overrides the limit of the template. */
static void
limit_off(json_t *family, const json_t *theirs, const char *key)
{
	json_object_del(family, key);
	if (json_object_get(theirs, key) != NULL)
		json_object_set_new(family, key,
			json_pack("{s:I, s:s}", "limit", (json_int_t)4294967295ll, "action",
				"warning"));
}

/* After `limit`: N [action A] | off. Stays under `key` until the end of the channel. */
static bool
limit(struct bird *b, json_t *family, const char *key)
{
	unsigned line = bird_peek(b, 0)->line;
	json_t *max;
	json_int_t n;

	if (bird_take(b, "off"))
		return json_object_set_new(family, key, json_false()) == 0;
	if (!bird_take_within(b, 1, 4294967295ll, &n))
		return false;
	max = json_pack(
		"{s:I, s:s, s:I}", "limit", n, "action", "shutdown", "_line", (json_int_t)line);
	json_object_set_new(family, key, max);
	if (!bird_take(b, "action"))
		return true;
	if (bird_take(b, "warn"))
		return json_object_set_new(max, "action", json_string("warning")) == 0;
	if (bird_take(b, "block"))
		return json_object_set_new(max, "action", json_string("discard")) == 0;
	if (bird_take(b, "restart")) {
		bird_note(b, line, "changed: the session is established again after 60 s");
		return json_object_set_new(max, "restart_s", json_integer(60)) == 0;
	}
	return bird_take(b, "disable");
}

/* A verdict on the line of a limit; on `line` for a limit of the template. */
static void
limit_note(struct bird *b, const json_t *own, const json_t *max, unsigned line, const char *verdict)
{
	bird_note(b, own != NULL ? (unsigned)number_of(max, "_line") : line, "%s", verdict);
}

/*
 * The import limit of BIRD counts accepted routes, the receive limit all routes; max_prefixes counts
 * the routes that are kept. `theirs`: the channel of the template, or NULL. `line`: of the channel.
 */
static void
choose_limit(struct bird *b, json_t *family, const json_t *theirs, unsigned line)
{
	const json_t *own_import = json_object_get(family, IMPORT_LIMIT),
		     *own_receive = json_object_get(family, RECEIVE_LIMIT);
	json_t *import = import_value_of(family, theirs, IMPORT_LIMIT),
	       *receive = import_value_of(family, theirs, RECEIVE_LIMIT), *chosen;
	bool keeps = json_is_true(import_value_of(family, theirs, "keep_all_routes"));

	if (own_import == NULL && own_receive == NULL &&
		json_object_get(family, "keep_all_routes") == NULL)
		return;
	if (json_is_object(receive) && !keeps)
		limit_note(b, own_receive, receive, line,
			"not carried: max_prefixes counts refused routes only with "
			"keep_all_routes");
	else if (json_is_object(receive) && json_is_object(import))
		limit_note(b, own_import, import, line,
			"not carried: max_prefixes is the receive limit");
	else if (json_is_object(import) && keeps)
		limit_note(b, own_import, import, line,
			"changed: max_prefixes counts refused routes too, because keeld keeps "
			"them");
	chosen = json_is_object(receive) && keeps ? receive : import;
	if (!json_is_object(chosen))
		limit_off(family, theirs, "max_prefixes");
	else if (!json_equal(chosen, json_object_get(theirs, "max_prefixes")))
		json_object_set_new(family, "max_prefixes", json_deep_copy(chosen));
}

/* After `export limit`: N [action {warn | disable}] | off. Without an action BIRD disables the protocol. */
static bool
export_limit(struct bird *b, json_t *family, const json_t *theirs)
{
	const char *action = "shutdown";
	json_int_t n;

	if (bird_take(b, "off")) {
		limit_off(family, theirs, "max_prefixes_out");
		return true;
	}
	if (!bird_take_within(b, 1, 4294967295ll, &n))
		return false;
	if (bird_take(b, "action")) {
		if (bird_take(b, "warn"))
			action = "warning";
		else if (!bird_take(b, "disable"))
			return false;
	}
	return json_object_set_new(family, "max_prefixes_out",
		       json_pack("{s:I, s:s}", "limit", n, "action", action)) == 0;
}

static bool
channel_statement(
	struct bird *b, json_t *o, json_t *family, const json_t *theirs, const char *own_name)
{
	json_int_t n;
	char name[128];

	if (bird_take_words(b, "import limit"))
		return limit(b, family, IMPORT_LIMIT);
	if (bird_take_words(b, "receive limit"))
		return limit(b, family, RECEIVE_LIMIT);
	if (bird_take_words(b, "export limit"))
		return export_limit(b, family, theirs);
	if (bird_take_words(b, "import keep filtered") || bird_take_words(b, "import table"))
		return json_object_set_new(
			       family, "keep_all_routes", json_boolean(bird_take_switch(b))) == 0;
	if (bird_take_words(b, "export table"))
		return bird_take_switch(b), true;
	if (bird_take(b, "import") || bird_take(b, "export")) {
		bool in = is(b->token[b->at - 1].text, "import");

		snprintf(name, sizeof(name), "%s-%s", own_name, in ? "in" : "out");
		return policy(b, family, in ? "import_policy" : "export_policy", name);
	}
	if (bird_take_words(b, "next hop self")) {
		bool external = bird_take(b, "ebgp"), on = external || bird_take_switch(b);

		if (bird_is(b, ";")) {
			json_object_set_new(o, "_self", json_boolean(on));
			json_object_set_new(o, "_reflected", json_boolean(on && !external));
		}
		return bird_is(b, ";") &&
		       json_object_set_new(family, "next_hop_self", json_boolean(on)) == 0;
	}
	if (bird_take_words(b, "next hop keep")) {
		bool on = bird_take_switch(b);

		return bird_is(b, ";") &&
		       json_object_set_new(family, "next_hop_unchanged", json_boolean(on)) == 0;
	}
	if (bird_take(b, "table")) {
		if (bird_take(b, "master4") || bird_take(b, "master6"))
			return true;
		json_object_set_new(family, "_table", json_true());
		return false;
	}
	if (bird_take_words(b, "add paths"))
		return !bird_take_switch(b);
	if (bird_take_words(b, "extended next hop")) {
		json_object_set_new(member_made(o, "capabilities", json_object()),
			"extended_next_hop", json_boolean(bird_take_switch(b)));
		return true;
	}
	if (bird_take_words(b, "rpki reload"))
		return bird_take_switch(b);
	if (bird_take(b, "debug")) {
		while (!bird_is(b, ";") && bird_peek(b, 0)->kind != BIRD_END)
			b->at++;
		return true;
	}
	return bird_take(b, "preference") && bird_take_number(b, &n) && n == 100;
}

/* After `{`: statements up to `}`. `theirs`: the channel of the template, or NULL. */
static void
channel(struct bird *b, json_t *o, json_t *family, const json_t *theirs, const char *own_name)
{
	unsigned line = b->token[b->at - 1].line;

	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;

		if (bird_take(b, ";"))
			continue;
		/* an inline filter ends without a semicolon */
		if (channel_statement(b, o, family, theirs, own_name) &&
			(bird_take(b, ";") || is(b->token[b->at - 1].text, "}")))
			continue;
		bird_whole(b, at, "not carried: keel.json has no key of this meaning");
		/* an unknown policy lets no route pass */
		if ((is(b->token[at].text, "import") || is(b->token[at].text, "export")) &&
			at + 1 < b->end && !is(b->token[at + 1].text, "limit"))
			json_object_set_new(family,
				is(b->token[at].text, "import") ? "import_policy" : "export_policy",
				json_string("deny-all"));
	}
	choose_limit(b, family, theirs, line);
}

/* ---- protocol bgp, template bgp ---- */

static bool
set_switch(struct bird *b, json_t *o, const char *key)
{
	return json_object_set_new(o, key, json_boolean(bird_take_switch(b))) == 0;
}

static bool
set_seconds(struct bird *b, json_t *o, const char *key, json_int_t low, json_int_t high)
{
	json_int_t n;

	return bird_take_within(b, low, high, &n) && !(is(key, "hold_s") && (n == 1 || n == 2)) &&
	       json_object_set_new(member_made(o, "timers", json_object()), key, json_integer(n)) ==
		       0;
}

static bool
local(struct bird *b, json_t *o)
{
	const char *address;
	json_int_t n;

	if (bird_take_address(b, &address))
		json_object_set_new(o, "source", json_string(address));
	if (bird_take(b, "port") && !(bird_take_number(b, &n) && n == 179))
		return false;
	if (bird_take(b, "as"))
		return bird_take_asn(b, &n) &&
		       json_object_set_new(o, "_local", json_integer(n)) == 0;
	return bird_is(b, ";");
}

/* The AS number of the neighbour; NULL: the AS of this router. */
static void
set_asn(json_t *o, json_t *asn)
{
	json_object_set_new(o, "_internal", json_boolean(asn == NULL));
	json_object_del(o, "asn");
	if (asn != NULL)
		json_object_set_new(o, "asn", asn);
}

static bool
neighbor(struct bird *b, json_t *o)
{
	const char *address;
	json_int_t n;
	char text[64];

	if (bird_take(b, "range")) {
		if (!bird_take_prefix(b, text, sizeof(text)))
			return false;
		json_object_set_new(o, "_range", json_string(text));
	} else if (bird_take_address(b, &address)) {
		if (bird_take(b, "%")) {
			json_object_set_new(o, "_address",
				json_sprintf("%s%%%s", address, bird_peek(b, 0)->text));
			b->at++;
		} else {
			json_object_set_new(o, "_address", json_string(address));
		}
	}
	while (!bird_is(b, ";")) {
		if (bird_take(b, "port") && bird_take_within(b, 1, 65535, &n))
			json_object_set_new(o, "port", json_integer(n));
		else if (bird_take(b, "as") && bird_take_asn(b, &n))
			set_asn(o, json_integer(n));
		else if (bird_take(b, "internal"))
			set_asn(o, NULL);
		else
			return false;
	}
	return true;
}

static bool
role(struct bird *b, json_t *o)
{
	static const char *const roles[][2] = {{"peer", "peer"}, {"provider", "provider"},
		{"customer", "customer"}, {"rs_server", "rs-server"}, {"rs_client", "rs-client"}};

	for (unsigned i = 0; i < 5; i++) {
		if (bird_take(b, roles[i][0]))
			return json_object_set_new(o, "role", json_string(roles[i][1])) == 0;
	}
	return false;
}

static bool
set_text(struct bird *b, json_t *o, const char *key)
{
	const struct bird_token *t = bird_peek(b, 0);

	b->at++;
	return t->kind == BIRD_TEXT && json_object_set_new(o, key, json_string(t->text)) == 0;
}

static bool
password(struct bird *b, json_t *o)
{
	const struct bird_token *t = bird_peek(b, 0);

	b->at++;
	if (t->kind == BIRD_TEXT && import_password_fault(t->text) != NULL)
		bird_note(b, t->line, "%s", import_password_fault(t->text));
	else if (t->kind == BIRD_TEXT)
		json_object_set_new(o, "password", json_string(t->text));
	return t->kind == BIRD_TEXT;
}

/* Statements that are done with this value, because keeld does the same. */
static bool
same_as_ours(struct bird *b)
{
	static const struct {
		const char *words;
		bool value;
	} same[] = {{"interpret communities", true}, {"path metric", true}, {"igp metric", true},
		{"med metric", false}, {"prefer older", false}, {"bfd", false},
		{"allow bgp_local_pref", false}, {"deterministic med", true},
		{"capabilities", true}, {"enable as4", true}, {"confederation member", false},
		{"long lived graceful restart", false}, {"disable after error", false}};
	static const struct {
		const char *words;
		json_int_t value;
	} numbers[] = {{"default bgp_local_pref", 100}, {"default bgp_med", 0}};
	json_int_t n;

	for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (bird_take_words(b, same[i].words))
			return bird_take_switch(b) == same[i].value;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (bird_take_words(b, numbers[i].words))
			return bird_take_number(b, &n) && n == numbers[i].value;
	}
	return false;
}

static bool
bgp_statement(struct bird *b, json_t *o)
{
	static const struct {
		const char *words, *key;
	} switches[] = {{"passive", "passive"}, {"disabled", "shutdown"}, {"ttl security", "gtsm"},
		{"rr client", "route_reflector_client"}, {"rs client", "route_server_client"},
		{"enforce first as", "enforce_first_as"}, {"require roles", "role_strict"}},
	  capabilities[] = {{"enable route refresh", "route_refresh"},
		  {"enable enhanced route refresh", "enhanced_route_refresh"},
		  {"enable extended messages", "extended_message"}};
	static const struct {
		const char *words, *key;
		json_int_t low, high;
	} seconds[] = {{"hold time", "hold_s", 0, 65535},
		{"startup hold time", "open_sent_hold_s", 1, 65535},
		{"keepalive time", "keepalive_s", 1, 21845},
		{"connect retry time", "connect_retry_s", 1, 65535}};
	const char *address;
	json_int_t n;

	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (bird_take_words(b, switches[i].words))
			return set_switch(b, o, switches[i].key);
	}
	for (unsigned i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		if (bird_take_words(b, capabilities[i].words))
			return set_switch(b, member_made(o, "capabilities", json_object()),
				capabilities[i].key);
	}
	for (unsigned i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		if (bird_take_words(b, seconds[i].words))
			return set_seconds(b, o, seconds[i].key, seconds[i].low, seconds[i].high);
	}
	if (bird_take_words(b, "local role"))
		return role(b, o);
	if (bird_take(b, "local"))
		return local(b, o);
	if (bird_take(b, "neighbor"))
		return neighbor(b, o);
	if (bird_take(b, "description"))
		return set_text(b, o, "description");
	if (bird_take(b, "password"))
		return password(b, o);
	if (bird_take(b, "interface"))
		return set_text(b, o, "_interface");
	if (bird_take(b, "vrf")) {
		if (bird_take(b, "default"))
			return true;
		json_object_set_new(o, "_vrf", json_true());
		return false;
	}
	if (bird_take_words(b, "source address"))
		return bird_take_address(b, &address) &&
		       json_object_set_new(o, "source", json_string(address)) == 0;
	if (bird_take(b, "multihop")) {
		if (bird_is(b, ";"))
			n = MULTIHOP_TTL;
		else if (!bird_take_within(b, 1, 255, &n))
			return false;
		json_object_del(o, "_direct");
		return json_object_set_new(o, "multihop", json_integer(n)) == 0;
	}
	if (bird_take(b, "direct")) {
		json_object_del(o, "multihop");
		return json_object_set_new(o, "_direct", json_true()) == 0;
	}
	if (bird_take_words(b, "rr cluster id"))
		return bird_take_address(b, &address) &&
		       bird_set_id(b, b->im->bgp, "cluster_id", address) &&
		       json_object_set_new(o, "_cluster", json_string(address)) == 0;
	if (bird_take_words(b, "router id"))
		return bird_take_address(b, &address) &&
		       is(address,
			       json_string_value(json_object_get(
				       json_object_get(b->im->document, "router"), "router_id")));
	if (bird_take_words(b, "allow local as")) {
		if (bird_is(b, ";"))
			n = 255;
		else if (!bird_take_within(b, 0, 255, &n))
			return false;
		return json_object_set_new(o, "_allow", json_integer(n)) == 0;
	}
	if (bird_take_words(b, "graceful restart") && !bird_is(b, "time")) {
		if (bird_take(b, "aware"))
			return true;
		if (bird_take_switch(b))
			bird_note(b, b->token[b->at - 1].line,
				"changed: keeld is the helper; it restarts with forwarding state "
				"only with keelfwd");
		else
			json_object_set_new(member_made(o, "capabilities", json_object()),
				"graceful_restart", json_false());
		return true;
	}
	return bird_no_route(b) || same_as_ours(b);
}

static const char *
channel_family(const struct bird *b, unsigned *words)
{
	const char *first = bird_peek(b, 0)->text, *second = bird_peek(b, 1)->text;

	*words = is(second, "{") || is(second, ";") ? 1 : 2;
	if (*words == 2 && !is(second, "unicast"))
		return NULL;
	return is(first, "ipv4") ? "ipv4-unicast" : is(first, "ipv6") ? "ipv6-unicast" : NULL;
}

/* After `{`. `inherited`: the object of the template, or NULL. */
static void
bgp_block(struct bird *b, json_t *o, const json_t *inherited, const char *name)
{
	char own[80];
	unsigned words;
	const json_t *theirs;

	while (!bird_take(b, "}") && bird_peek(b, 0)->kind != BIRD_END) {
		unsigned at = b->at;
		const char *family = channel_family(b, &words);
		json_t *f;

		if (bird_take(b, ";"))
			continue;
		if (family != NULL) {
			b->at += words;
			f = member_made(
				member_made(o, "families", json_object()), family, json_object());
			snprintf(own, sizeof(own), "%s-%.4s", name, family);
			theirs = json_object_get(json_object_get(inherited, "families"), family);
			if (theirs == NULL) {
				/* the defaults of BIRD */
				json_object_set_new(f, "import_policy", json_string("accept-all"));
				json_object_set_new(f, "export_policy", json_string("deny-all"));
			}
			if (bird_take(b, "{"))
				channel(b, o, f, theirs, own);
			bird_take(b, ";");
			continue;
		}
		if (!bgp_statement(b, o) || !bird_take(b, ";"))
			bird_whole(b, at, "not carried: keel.json has no key of this meaning");
	}
}

/* A member of all families. */
static void
all_families(json_t *o, const json_t *group, const char *key, json_t *value)
{
	const char *name;
	json_t *f;

	json_object_foreach(json_object_get(group, "families"), name, f)
		member_made(member_made(o, "families", json_object()), name, json_object());
	json_object_foreach(json_object_get(o, "families"), name, f) json_object_set(f, key, value);
	json_decref(value);
}

/* Routes of another table belong to no neighbour of this one, also where the template names the table. */
static void
other_tables(struct bird *b, json_t *o, const json_t *group, unsigned line)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"};

	for (unsigned i = 0; i < 2; i++) {
		json_t *f = json_object_get(json_object_get(o, "families"), names[i]);
		const json_t *theirs =
			json_object_get(json_object_get(group, "families"), names[i]);

		if (import_value_of(f, theirs, "_table") == NULL)
			continue;
		bird_note(b, line, "not carried: a channel of another table; no route passes");
		f = member_made(member_made(o, "families", json_object()), names[i], json_object());
		json_object_set_new(f, "import_policy", json_string("deny-all"));
		json_object_set_new(f, "export_policy", json_string("deny-all"));
	}
}

/*
 * The keys of a neighbour that depend on the AS numbers of both sides. False, with a verdict: the
 * neighbour is left out.
 */
static bool
finish_peer(struct bird *b, json_t *o, const json_t *group, unsigned line)
{
	json_t *router = json_object_get(b->im->document, "router"),
	       *v = import_value_of(o, group, "_local"), *asn;
	bool external;
	const char *name;
	json_t *f;

	if (v != NULL && json_object_get(router, "asn") == NULL)
		json_object_set(router, "asn", v);
	if (import_value_of(o, group, "_vrf") != NULL) {
		bird_note(b, line, "not carried: a neighbour of a VRF");
		return false;
	}
	if (v == NULL) {
		bird_note(b, line, "not carried: no local AS number; the neighbour is left out");
		return false;
	}
	if (!json_equal(v, json_object_get(router, "asn"))) {
		bird_note(b, line,
			"not carried: a local AS number other than %lld; the neighbour is left out",
			number_of(router, "asn"));
		return false;
	}
	if (json_is_true(import_value_of(o, group, "_internal")))
		json_object_set(o, "asn", json_object_get(router, "asn"));
	asn = import_value_of(o, group, "asn");
	external = asn != NULL && !json_equal(asn, json_object_get(router, "asn"));
	if (external && import_value_of(o, group, "enforce_first_as") == NULL)
		json_object_set_new(o, "enforce_first_as", json_false());
	if (import_value_of(o, group, "_allow") != NULL)
		all_families(
			o, group, "allow_as_in", json_incref(import_value_of(o, group, "_allow")));
	json_object_foreach(json_object_get(o, "families"), name, f)
	{
		const json_t *theirs = json_object_get(json_object_get(group, "families"), name);

		if (!external && json_is_true(import_value_of(f, theirs, "next_hop_unchanged")))
			json_object_set_new(f, "next_hop_unchanged", json_false());
	}
	other_tables(b, o, group, line);
	return true;
}

/* Without a direct protocol BIRD has no route to next hops on connected subnets. */
static void
connected(struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		if (!b->has_direct && json_object_get(o, "enforce_first_as") == NULL)
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: next hops on connected subnets can be reached");
	}
}

/* Next hops of third routers, and gateways of static routes. */
static void
next_hops(struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const json_t *group = import_group_of(b->im, o);
		const char *verdict = import_third_party(b->im, o, true);
		unsigned line = (unsigned)number_of(o, "_line");

		if (verdict != NULL)
			bird_note(b, line, "%s", verdict);
		/* `next hop self ebgp` */
		if (json_object_get(o, "enforce_first_as") == NULL &&
			json_is_true(import_value_of(o, group, "_self")) &&
			!json_is_true(import_value_of(o, group, "_reflected")) &&
			import_has_gateways(b->im))
			bird_note(b, line,
				"changed: static routes get the address of this router as next "
				"hop, not the gateway");
	}
}

static bool
has_clients(const struct bird *b)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		if (json_is_true(import_value_of(
			    o, import_group_of(b->im, o), "route_reflector_client")))
			return true;
	}
	return false;
}

/* A route reflector: with `next hop self` BIRD changes reflected routes as well, and each session can have a cluster id. */
static void
reflector(struct bird *b)
{
	const char *cluster = json_string_value(json_object_get(b->im->bgp, "cluster_id")), *own;
	json_t *o;
	size_t i;

	if (!has_clients(b))
		return;
	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const json_t *group = import_group_of(b->im, o);

		if (json_object_get(o, "enforce_first_as") != NULL)
			continue;
		own = json_string_value(import_value_of(o, group, "_cluster"));
		if (json_is_true(import_value_of(o, group, "_reflected")))
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: reflected routes keep their next hop");
		else if (cluster != NULL && !is(own, cluster))
			bird_note(b, (unsigned)number_of(o, "_line"),
				"changed: the cluster id of all sessions is %s", cluster);
	}
}

/* Members of `from` that `to` lacks; families, timers and capabilities member by member. */
static void
merge_missing(json_t *to, const json_t *from)
{
	static const char *const deep[] = {
		"families", "ipv4-unicast", "ipv6-unicast", "timers", "capabilities"};
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(size_t)from, key, v)
	{
		json_t *have = json_object_get(to, key);

		if (have == NULL)
			json_object_set_new(to, key, json_deep_copy(v));
		for (unsigned i = 0; have != NULL && i < sizeof(deep) / sizeof(deep[0]); i++) {
			if (is(key, deep[i]))
				merge_missing(have, v);
		}
	}
}

/* One hop where the template has more: a key of a group cannot be taken back. True: `o` has all keys of `parent`. */
static bool
one_hop(struct bird *b, json_t *o, const json_t *parent, unsigned line)
{
	if (json_object_get(o, "_direct") == NULL || json_object_get(parent, "multihop") == NULL)
		return false;
	merge_missing(o, parent);
	json_object_del(o, "multihop");
	bird_note(b, line, "changed: the keys of the template are its own, but for multihop");
	return true;
}

/* keeld has no `gtsm` over several hops. */
static void
check_hops(struct bird *b, json_t *o, const json_t *parent, unsigned line)
{
	if (import_value_of(o, parent, "multihop") == NULL ||
		!json_is_true(import_value_of(o, parent, "gtsm")))
		return;
	bird_note(b, line, "not carried: TTL security over several hops");
	json_object_set_new(o, "gtsm", json_false());
}

/* True if a neighbour above has the address. */
static bool
has_address(const struct bird *b, const char *address)
{
	int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
	unsigned char mine[16] = {0}, theirs[16] = {0};
	bool binary = inet_pton(family, address, mine) == 1;
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(b->im->bgp, "peers"), i, o)
	{
		const char *other = json_string_value(json_object_get(o, "address"));

		if (is(other, address) || (binary && inet_pton(family, other, theirs) == 1 &&
						  memcmp(mine, theirs, sizeof(mine)) == 0))
			return true;
	}
	return false;
}

/* A range of neighbours; `o`: its group. */
static void
listen_range(struct bird *b, json_t *o, const char *group, unsigned line)
{
	json_t *ranges = member_made(b->im->bgp, "listen_ranges", json_array());
	const char *range = json_string_value(json_object_get(o, "_range"));

	if (!finish_peer(b, o, NULL, line))
		return;
	if (import_named(ranges, "prefix", range) != NULL)
		bird_note(b, line, "not carried: the range %s occurs before", range);
	else
		json_array_append_new(
			ranges, json_pack("{s:s, s:s}", "prefix", range, "group", group));
}

/* A neighbour; takes `o`. `parent`: its group, or NULL. `name`: of the protocol, or NULL. */
static void
add_peer(struct bird *b, json_t *o, const json_t *parent, const char *name, unsigned line)
{
	const char *text = json_string_value(import_value_of(o, parent, "_address"));
	const json_t *link = import_value_of(o, parent, "_interface");

	if (text == NULL || (import_value_of(o, parent, "asn") == NULL &&
				    !json_is_true(import_value_of(o, parent, "_internal")))) {
		bird_note(b, line, "not carried: the neighbour has no address or no AS number");
		json_decref(o);
		return;
	}
	json_object_set_new(o, "address",
		link != NULL && strncasecmp(text, "fe80", 4) == 0 && strchr(text, '%') == NULL
			? json_sprintf("%s%%%s", text, json_string_value(link))
			: json_string(text));
	if (parent != NULL)
		json_object_set(o, "group", json_object_get(parent, "name"));
	if (json_object_get(o, "description") == NULL && name != NULL)
		json_object_set_new(o, "description", json_string(name));
	json_object_set_new(o, "_line", json_integer(line));
	text = json_string_value(json_object_get(o, "address"));
	if (finish_peer(b, o, parent, line)) {
		if (has_address(b, text))
			bird_note(b, line,
				"not carried: an earlier neighbour has the address %.64s; keeld "
				"has one session to an address",
				text);
		else
			json_array_append(member_made(b->im->bgp, "peers", json_array()), o);
	}
	json_decref(o);
}

/* After `bgp` of a protocol or a template. */
void
bird_bgp(struct bird *b, bool template, unsigned line)
{
	json_t *groups = member_made(b->im->bgp, "groups", json_array()), *o, *parent = NULL;
	const char *name = NULL;
	char own[64], text[32];

	if (!bird_is(b, "{") && !bird_is(b, "from")) {
		name = bird_peek(b, 0)->text;
		b->at++;
		bird_policy_name(b, name, line, own);
	} else {
		snprintf(own, sizeof(own), "bgp%u", ++b->unnamed);
		snprintf(text, sizeof(text), "protocol %u without name", b->unnamed);
		import_unique(b->im, text, own);
	}
	if (bird_take(b, "from")) {
		char theirs[64];

		b->im->verdict[0] = '\0';
		parent = import_named(
			groups, "name", import_name(b->im, bird_peek(b, 0)->text, theirs));
		if (parent == NULL)
			bird_note(b, line, "not carried: there is no template \"%.32s\"",
				bird_peek(b, 0)->text);
		b->at++;
	}
	o = json_object();
	if (bird_take(b, "{"))
		bgp_block(b, o, parent, own);
	if (template || json_object_get(o, "_range") != NULL) {
		if (parent != NULL && !one_hop(b, o, parent, line))
			merge_missing(o, parent);
		check_hops(b, o, NULL, line);
		json_object_set_new(o, "name", json_string(own));
		if (import_named(groups, "name", own) != NULL) {
			bird_note(b, line, "not carried: the name \"%.32s\" occurs before", own);
			json_decref(o);
			return;
		}
		json_array_append_new(groups, o);
		if (!template)
			listen_range(b, o, own, line);
		return;
	}
	if (one_hop(b, o, parent, line)) {
		json_object_del(o, "name");
		parent = NULL;
	}
	check_hops(b, o, parent, line);
	add_peer(b, o, parent, name, line);
}

void
bird_finish_peers(struct bird *b)
{
	next_hops(b);
	reflector(b);
	connected(b);
}
