/* SPDX-License-Identifier: BSD-3-Clause */
/* The operator grammar: contract section 4, the part of this version. */
#include "control/keelctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16 /* choices at one place */

struct parse {
	char *const *word;
	unsigned count, at;
	struct command *out;
	char *error;
	size_t error_size;
};

/* ---- values ---- */

/* AF_INET, AF_INET6 (with or without %zone), or 0. */
static int
address_read(const char *text, unsigned char bytes[16], const char **zone)
{
	char plain[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");

	if (len >= sizeof(plain))
		return 0;
	memcpy(plain, text, len);
	plain[len] = '\0';
	*zone = text + len;
	if (inet_pton(AF_INET6, plain, bytes) == 1 && strcmp(*zone, "%") != 0)
		return AF_INET6;
	return **zone == '\0' && inet_pton(AF_INET, plain, bytes) == 1 ? AF_INET : 0;
}

bool
text_is_address(const char *text)
{
	unsigned char bytes[16];
	const char *zone;

	return address_read(text, bytes, &zone) != 0;
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

/* Digits only, at most `max`. Where they end, or NULL. */
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

/* ADDRESS/LENGTH. */
static bool
is_prefix(const char *text)
{
	const char *slash = strchr(text, '/');
	char addr[INET6_ADDRSTRLEN];
	size_t digits;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(addr))
		return false;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	digits = strspn(slash + 1, "0123456789");
	if (digits == 0 || digits > 3 || slash[1 + digits] != '\0' || strchr(addr, '%') != NULL)
		return false;
	return text_is_address(addr) &&
	       strtoul(slash + 1, NULL, 10) <= (strchr(addr, ':') != NULL ? 128 : 32);
}

/* Contract section 2, names. */
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

/* ---- faults ---- */

static int fault(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int
fault(struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->error, p->error_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* "a, b or c" of those that begin with the `len` characters of `word`; `value`, when there is one, first. */
static const char *
list(char *buf, size_t size, const char *value, const char *const *choices, const char *word,
	size_t len)
{
	const char *found[WORDS_MAX + 1];
	unsigned n = 0;
	size_t at = 0;

	if (value != NULL)
		found[n++] = value;
	for (; *choices != NULL && n <= WORDS_MAX; choices++) {
		if (strncmp(*choices, word, len) == 0)
			found[n++] = *choices;
	}
	buf[0] = '\0';
	for (unsigned i = 0; i < n && at < size; i++) {
		const char *between = i == 0 ? "" : i + 1 < n ? ", " : " or ";

		at += (size_t)snprintf(buf + at, size - at, "%s%s", between, found[i]);
	}
	return buf;
}

/* The next word, if there is one, is none of what may stand here. */
static int
unexpected(struct parse *p, const char *value, const char *const *choices)
{
	char wanted[256], before[256] = "";
	size_t at = 0;

	list(wanted, sizeof(wanted), value, choices, "", 0);
	if (p->at < p->count)
		return fault(
			p, "word %u \"%.64s\": expected %s", p->at + 1, p->word[p->at], wanted);
	for (unsigned i = 0; i < p->count && at < sizeof(before); i++)
		at += (size_t)snprintf(
			before + at, sizeof(before) - at, "%s%s", i > 0 ? " " : "", p->word[i]);
	return fault(p, "expected %s after \"%s\"", wanted, before);
}

/* ---- words ---- */

static const char *
peek(const struct parse *p)
{
	return p->at < p->count ? p->word[p->at] : "";
}

/*
 * The place of the next word in `choices`, which ends with NULL: in full, or abbreviated while unique. -EINVAL after
 * fault(). `value` names what else may stand here, for the message; the caller has looked for it before.
 */
static int
keyword(struct parse *p, const char *value, const char *const *choices)
{
	const char *word = peek(p);
	char could_be[256];
	size_t len = strlen(word);
	int found = -1, matches = 0;

	for (int i = 0; len > 0 && choices[i] != NULL; i++) {
		if (strncmp(choices[i], word, len) != 0)
			continue;
		if (choices[i][len] == '\0') {
			p->at++;
			return i;
		}
		found = i;
		matches++;
	}
	if (matches == 0)
		return unexpected(p, value, choices);
	if (matches > 1)
		return fault(p, "word %u \"%.64s\" is ambiguous: %s", p->at + 1, word,
			list(could_be, sizeof(could_be), NULL, choices, word, len));
	p->at++;
	return found;
}

static int
value(struct parse *p, const char *what, bool (*good)(const char *), const char **out)
{
	static const char *const none[] = {NULL};

	if (!good(peek(p)))
		return unexpected(p, what, none);
	*out = p->word[p->at++];
	return 0;
}

static int
end(struct parse *p)
{
	if (p->at < p->count)
		return fault(p, "word %u \"%.64s\": nothing was expected here", p->at + 1,
			p->word[p->at]);
	return 0;
}

/* ---- refresh ---- */

/* [ipv6 | vpn-instance NAME {ipv4-family | ipv6-family} | vpnv4 | vpnv6] {all | ADDRESS | group NAME | …} */
static const char *const refresh_words[] = {
	"all", "external", "internal", "group", "ipv6", "vpn-instance", "vpnv4", "vpnv6", NULL};
static const char *const scope_words[] = {"all", "external", "internal", "group", NULL};

static int
refresh_instance(struct parse *p)
{
	static const char *const families[] = {"ipv4-family", "ipv6-family", NULL};
	int k = value(p, "NAME", is_name, &p->out->vrf);

	if (k == 0)
		k = keyword(p, NULL, families);
	if (k < 0)
		return k;
	p->out->family = k == 0 ? "ipv4-unicast" : "ipv6-unicast";
	p->out->later = "refresh bgp vpn-instance";
	return 0;
}

static int
refresh_scope(struct parse *p, const char *const *choices)
{
	struct command *c = p->out;
	int k;

	if (text_is_address(peek(p))) {
		c->peer = p->word[p->at++];
		c->scope = "peer";
		return 0;
	}
	k = keyword(p, "ADDRESS", choices);
	if (k < 0)
		return k;
	switch (k) {
	case 3:
		c->scope = "group";
		return value(p, "NAME", is_name, &c->group);
	case 4:
		c->family = "ipv6-unicast";
		break;
	case 5:
		k = refresh_instance(p);
		if (k < 0)
			return k;
		break;
	case 6:
		c->family = "vpnv4-unicast";
		c->later = "refresh bgp vpnv4";
		break;
	case 7:
		c->family = "vpnv6-unicast";
		c->later = "refresh bgp vpnv6";
		break;
	default: /* all, external, internal */
		c->scope = choices[k];
		return 0;
	}
	return refresh_scope(p, scope_words);
}

static int
refresh(struct parse *p)
{
	static const char *const what[] = {"bgp", NULL}, *const directions[] = {
								 "import", "export", NULL};
	int k;

	p->out->kind = COMMAND_REFRESH;
	p->out->family = "ipv4-unicast";
	k = keyword(p, NULL, what);
	if (k < 0)
		return k;
	k = refresh_scope(p, refresh_words);
	if (k < 0)
		return k;
	k = keyword(p, NULL, directions);
	if (k < 0)
		return k;
	p->out->direction = directions[k];
	return 0;
}

/* ---- reset ---- */

/*
 * {all | AS-NUMBER | ADDRESS | …}, then with `slow` (behind a family) also [ADDRESS] slow-peer. `choices` begins as scope_words does.
 */
static int
reset_scope(struct parse *p, const char *const *choices, bool slow)
{
	struct command *c = p->out;
	int k;

	if (text_is_address(peek(p))) {
		c->peer = p->word[p->at++];
		c->scope = "peer";
		if (slow && p->at < p->count) {
			static const char *const rest[] = {"slow-peer", NULL};

			k = keyword(p, NULL, rest);
			c->scope = rest[0];
			return k < 0 ? k : 0;
		}
		return 0;
	}
	if (text_is_asn(peek(p), &c->asn)) {
		p->at++;
		c->scope = "asn";
		return 0;
	}
	k = keyword(p, "ADDRESS, AS-NUMBER", choices);
	if (k == 3) {
		c->scope = "group";
		return value(p, "NAME", is_name, &c->group);
	}
	if (k >= 0)
		c->scope = choices[k];
	return k;
}

/* ipv4 [ADDRESS] slow-peer: all that stands behind `ipv4`. */
static int
reset_slow_ipv4(struct parse *p)
{
	static const char *const words[] = {"slow-peer", NULL};
	int k;

	if (text_is_address(peek(p)))
		p->out->peer = p->word[p->at++];
	k = keyword(p, p->out->peer == NULL ? "ADDRESS" : NULL, words);
	p->out->scope = words[0];
	return k < 0 ? k : 0;
}

static int
reset_bgp(struct parse *p)
{
	static const char *const words[] = {"all", "external", "internal", "group", "ipv6",
		"vpn-instance", "vpnv4", "vpnv6", "ipv4", NULL};
	static const char *const family_words[] = {
		"all", "external", "internal", "group", "slow-peer", NULL};
	struct command *c = p->out;
	int k;

	if ((k = reset_scope(p, words, false)) < 4)
		return k;
	c->scope = NULL;
	switch (k) {
	case 4:
		c->family = "ipv6-unicast";
		break;
	case 5:
		k = refresh_instance(p);
		c->later = "reset bgp vpn-instance";
		return k < 0 ? k : reset_scope(p, scope_words, false);
	case 6:
	case 7:
		c->family = k == 6 ? "vpnv4-unicast" : "vpnv6-unicast";
		c->later = k == 6 ? "reset bgp vpnv4" : "reset bgp vpnv6";
		break;
	default:
		return reset_slow_ipv4(p);
	}
	return reset_scope(p, family_words, true);
}

static int
reset(struct parse *p)
{
	static const char *const what[] = {"bgp", NULL};
	int k = keyword(p, NULL, what);

	p->out->kind = COMMAND_RESET;
	p->out->family = "ipv4-unicast";
	if (k >= 0)
		k = reset_bgp(p);
	return k < 0 ? k : 0;
}

/* ---- show ---- */

static int
show_bgp(struct parse *p)
{
	static const char *const words[] = {"summary", "peer", NULL};
	int k = keyword(p, NULL, words);

	if (k < 0)
		return k;
	p->out->kind = k == 0 ? COMMAND_SHOW_BGP_SUMMARY : COMMAND_SHOW_BGP_PEER;
	return k == 0 ? 0 : value(p, "ADDRESS", text_is_address, &p->out->peer);
}

/* One of the words behind `show route`; `k` is its place in the list there. */
static int
route_word(struct parse *p, int k, unsigned *seen)
{
	if (*seen & 1u << k) {
		p->at--;
		return fault(p, "word %u \"%.64s\" stands there twice", p->at + 1, p->word[p->at]);
	}
	*seen |= 1u << k;
	if (k == 0)
		p->out->longer = true;
	else if (k == 1)
		return value(p, "ADDRESS", text_is_address, &p->out->peer);
	else
		p->out->advertised = true;
	return 0;
}

static const char *
family_of(const char *text)
{
	return strchr(text, ':') != NULL ? "ipv6-unicast" : "ipv4-unicast";
}

/* [ipv4 | ipv6] [PREFIX | ADDRESS]: what is given says the family, too. */
static int
route_subject(struct parse *p)
{
	static const char *const words[] = {"ipv4", "ipv6", NULL};
	struct command *c = p->out;
	const char *family = NULL, *text = peek(p);

	if (strncmp(text, "ip", 2) == 0) { /* nothing else begins so */
		int k = keyword(p, NULL, words);

		if (k < 0)
			return k;
		family = k == 0 ? "ipv4-unicast" : "ipv6-unicast";
	}
	if (is_prefix(peek(p)))
		text = c->prefix = p->word[p->at++];
	else if (text_is_address(peek(p)) && strchr(peek(p), '%') == NULL)
		text = c->address = p->word[p->at++];
	else
		text = NULL;
	c->family = text != NULL ? family_of(text) : family != NULL ? family : "ipv4-unicast";
	if (family != NULL && strcmp(family, c->family) != 0)
		return fault(p, "word %u \"%.64s\" is not of %s", p->at, text, family);
	return 0;
}

static int
show_route_words(struct parse *p)
{
	static const char *const words[] = {"longer", "peer", "advertised", NULL};
	static const char *const no_prefix[] = {"peer", "advertised", NULL};
	static const char *const first_words[] = {"ipv4", "ipv6", "peer", "advertised", NULL};
	struct command *c = p->out;
	unsigned seen = 0;
	int k = route_subject(p);

	c->kind = COMMAND_SHOW_ROUTE;
	while (k >= 0 && p->at < p->count) {
		if (c->prefix != NULL)
			k = keyword(p, NULL, words);
		else if (p->at == 2 && (k = keyword(p, "PREFIX", first_words)) >= 0)
			k--; /* neither ipv4 nor ipv6: these were looked for before */
		else if (p->at > 2 && (k = keyword(p, NULL, no_prefix)) >= 0)
			k++;
		if (k >= 0)
			k = route_word(p, k, &seen);
	}
	if (k < 0)
		return k;
	if (c->address != NULL && seen != 0)
		return fault(p,
			"\"%.64s\": beside other words a prefix with its length is expected",
			c->address);
	if (c->advertised && c->peer == NULL)
		return fault(p, "\"advertised\" goes with \"peer ADDRESS\"");
	return 0;
}

static int
show_fib(struct parse *p)
{
	static const char *const words[] = {"stats", NULL};
	int k;

	p->out->kind = COMMAND_SHOW_FIB_STATS;
	if (p->at == p->count)
		return 0;
	if (text_is_address(peek(p))) {
		p->out->kind = COMMAND_SHOW_FIB_LOOKUP;
		p->out->address = p->word[p->at++];
		return 0;
	}
	k = keyword(p, "ADDRESS", words);
	return k < 0 ? k : 0;
}

static int
show_dataplane(struct parse *p)
{
	static const char *const words[] = {"neighbors", NULL};

	p->out->kind = p->at < p->count ? COMMAND_SHOW_NEIGHBORS : COMMAND_SHOW_DATAPLANE;
	return p->at < p->count ? keyword(p, NULL, words) : 0;
}

static int
show_configuration(struct parse *p)
{
	static const char *const sources[] = {"running", "candidate", "startup", NULL};
	int k = 0;

	p->out->kind = COMMAND_SHOW_CONFIGURATION;
	if (p->at < p->count)
		k = keyword(p, NULL, sources);
	if (k < 0)
		return k;
	p->out->source = sources[k];
	return 0;
}

static int
show(struct parse *p)
{
	static const char *const words[] = {"bgp", "route", "fib", "configuration", "dataplane",
		"version", "jobs", "rib", NULL};
	static int (*const rest[])(struct parse *) = {
		show_bgp, show_route_words, show_fib, show_configuration, show_dataplane};
	static const enum command_kind kinds[] = {
		[5] = COMMAND_SHOW_VERSION, COMMAND_SHOW_JOBS, COMMAND_SHOW_RIB};
	int k = keyword(p, NULL, words);

	if (k < 0)
		return k;
	if (k < 5)
		return rest[k](p);
	p->out->kind = kinds[k];
	return 0;
}

/* ---- the whole ---- */

static bool
is_word(const char *text)
{
	return *text != '\0';
}

static int
rpc(struct parse *p)
{
	p->out->kind = COMMAND_RPC;
	if (value(p, "METHOD", is_word, &p->out->method) < 0)
		return -EINVAL;
	if (p->at < p->count)
		p->out->params = p->word[p->at++];
	return 0;
}

/* Words of the full grammar; known here, so that an abbreviation does not change its meaning later. */
static int
later(struct parse *p, const char *what)
{
	p->out->later = what;
	p->at = p->count;
	return 0;
}

int
command_parse(char *const *words, unsigned count, struct command *out, char *error, size_t size)
{
	static const char *const commands[] = {
		"rpc", "show", "display", "refresh", "reset", "system-view", NULL};
	struct parse p = {words, count, 0, out, error, size};
	int k;

	*out = (struct command){0};
	switch (k = keyword(&p, NULL, commands)) {
	case 0:
		k = rpc(&p);
		break;
	case 1:
	case 2:
		k = show(&p);
		break;
	case 3:
		k = refresh(&p);
		break;
	case 4:
		k = reset(&p);
		break;
	case 5:
		k = later(&p, commands[k]);
		break;
	}
	return k < 0 ? k : end(&p);
}
