/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values that BIRD, FRR or VRP may accept and keeld refuses: addresses, regular expressions, keys of internal
 * and external neighbours. The document of an import has none. Where the key is of a group, the neighbour or
 * the range is left out. One thread; no daemon.
 */
#include "control/cli/keelctl_import.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

#define DESCRIPTION_MAX 4096
#define ZONE_MAX 15
#define HOLD_DEFAULT 90 /* timers.hold_s */
#define RESTART_MAX 86400 /* max_prefixes.restart_s */
#define CACHES_MAX 16u
#define GROUP_DEPTH_MAX 16 /* groups within groups */
/*
 * Characters in the copies of repeated groups. keeld needs up to 50 octets for one (`_`), and reads 64 KiB.
 */
#define COPIED_MAX 1000
#define CACHE_PORT 323 /* rpki.caches.port */

/* ---- addresses ---- */

/* True if the text can name an interface. */
static bool
is_zone(const char *text)
{
	size_t n = strlen(text);

	for (const char *p = text; *p != '\0'; p++) {
		if (isspace((unsigned char)*p) || iscntrl((unsigned char)*p) ||
			strchr("/:%", *p) != NULL)
			return false;
	}
	return n > 0 && n <= ZONE_MAX && !is(text, ".") && !is(text, "..");
}

bool
import_is_host(const char *text)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, none[16];
	const char *zone = text != NULL ? strchr(text, '%') : NULL;
	char plain[INET6_ADDRSTRLEN];
	unsigned char a[16];
	size_t n;

	if (text == NULL)
		return false;
	n = strcspn(text, "%");
	if (n >= sizeof(plain))
		return false;
	memcpy(plain, text, n);
	plain[n] = '\0';
	if (zone == NULL && inet_pton(AF_INET, plain, a) == 1)
		return a[0] != 0 && a[0] < 224;
	if (inet_pton(AF_INET6, plain, a) != 1)
		return false;
	if ((zone != NULL) != (a[0] == 0xfe && (a[1] & 0xc0) == 0x80))
		return false;
	return memcmp(a, none, 16) != 0 && a[0] != 0xff && memcmp(a, mapped, 12) != 0 &&
	       (zone == NULL || is_zone(zone + 1));
}

bool
import_set_id(struct import *im, json_t *o, const char *key, const char *text)
{
	unsigned char a[4];

	if (text == NULL || inet_pton(AF_INET, text, a) != 1 || (a[0] | a[1] | a[2] | a[3]) == 0)
		return import_verdict(im,
			"not carried: \"%.32s\" is not an IPv4 address other than "
			"0.0.0.0",
			text != NULL ? text : "");
	return json_object_set_new(o, key, json_string(text)) == 0;
}

json_t *
import_peer(const struct import *im, const char *address)
{
	json_t *peers = json_object_get(im->bgp, "peers"),
	       *o = import_named(peers, "address", address);
	size_t i;

	if (o != NULL)
		return o;
	json_array_foreach(peers, i, o)
	{
		if (text_same_address(json_string_value(json_object_get(o, "address")), address))
			return o;
	}
	return NULL;
}

json_t *
import_peer_made(struct import *im, const char *address)
{
	json_t *o = import_peer(im, address);

	return o != NULL ? o : import_element(im->bgp, "peers", "address", address);
}

/* NUMBER:NUMBER or ADDRESS:NUMBER; a small number before a number of 32 bits. */
bool
import_route_target(const char *word, char *text)
{
	const char *colon = strchr(word, ':');
	char before[INET_ADDRSTRLEN];
	unsigned char a[4];
	json_int_t high = 65536, low;

	if (colon == NULL || colon - word >= (long)sizeof(before))
		return false;
	snprintf(before, sizeof(before), "%.*s", (int)(colon - word), word);
	if ((inet_pton(AF_INET, before, a) != 1 && !import_number(before, &high)) ||
		!import_number(colon + 1, &low) || (high > 65535 && low > 65535))
		return false;
	if (strchr(before, '.') != NULL)
		snprintf(text, 64, "rt:%s:%lld", before, (long long)low);
	else
		snprintf(text, 64, "rt:%lld:%lld", (long long)high, (long long)low);
	return true;
}

/* ---- regular expressions ---- */

/* Takes {N}, {N,} or {N,M} of at most 255; NULL: refused. *copies: of what is repeated, in keeld. */
static const char *
bounds(const char *p, unsigned long *copies)
{
	unsigned long n[2] = {0, 255};

	for (unsigned i = 0; i < 2; i++) {
		char *end;

		p++; /* the brace, the comma */
		if (isdigit((unsigned char)*p)) {
			n[i] = strtoul(p, &end, 10);
			p = end;
		} else if (i == 0) {
			return NULL;
		}
		if (i == 0 && *p == '}')
			n[1] = n[0];
		if (*p == '}')
			break;
		if (i == 0 && *p != ',')
			return NULL;
	}
	*copies = p[-1] == ',' ? n[0] + 1 : n[1];
	return *p == '}' && n[0] <= n[1] && n[1] <= 255 ? p + 1 : NULL;
}

/*
 * Takes a bracket expression of characters, ranges, [:digit:] and [:space:]; NULL: refused. bgpd replaces `_` in
 * brackets, too, and the expression has a different meaning.
 */
static const char *
class_end(const char *p)
{
	bool first = true;

	p += p[1] == '^' ? 2 : 1;
	for (; *p != '\0' && (*p != ']' || first); p++, first = false) {
		if (strncmp(p, "[:digit:]", 9) == 0 || strncmp(p, "[:space:]", 9) == 0) {
			p += 8;
			continue;
		}
		if (*p == '[' || *p == '\\' || *p == ']' || *p == '_')
			return NULL;
		if (p[1] == '-' && p[2] != ']') {
			if (p[2] < *p || p[2] == '\\' || p[2] == '[')
				return NULL;
			p += 2;
		}
	}
	return *p == ']' ? p + 1 : NULL;
}

bool
import_is_regex(const char *regex)
{
	const char *open[GROUP_DEPTH_MAX], *group = NULL; /* `group`: ends before `p` */
	unsigned depth = 0;
	unsigned long copies = 1, copied = 0;
	bool atom = false; /* before `p`: may be repeated */

	if (*regex == '\0')
		return false;
	for (const char *p = regex; *p != '\0';) {
		if (*p == '*' || *p == '+' || *p == '?' || *p == '{') {
			const char *end = *p == '{' ? bounds(p, &copies) : p + 1;

			if (!atom || end == NULL)
				return false;
			if (*p == '{' && group != NULL) {
				if (memchr(group, '{', (size_t)(p - group)) != NULL)
					return false;
				copied += (unsigned long)(p - group) * copies;
			}
			if (copied > COPIED_MAX)
				return false;
			p = end;
			atom = false; /* behind a repetition, ? and + have other meanings */
			continue;
		}
		atom = *p != '^' && *p != '$' && *p != '(' && *p != '|';
		group = *p == '_' ? p : NULL;
		if (*p == '(') {
			if (p[1] == '?' || p[1] == '*' || depth == GROUP_DEPTH_MAX)
				return false;
			open[depth++] = p;
		}
		if (*p == ')') {
			if (depth == 0)
				return false;
			group = open[--depth];
		}
		if (*p == '\\') {
			/* an escaped letter, digit, < > ' or ` has a meaning of its own; bgpd replaces _ */
			if (p[1] == '\0' || isalnum((unsigned char)p[1]) || (p[1] & 0x80) != 0 ||
				strchr("<>'`_", p[1]) != NULL)
				return false;
			p += 2;
		} else if (*p == '[') {
			p = class_end(p);
			if (p == NULL)
				return false;
		} else {
			p++;
		}
	}
	return depth == 0;
}

/* ---- limits, caches ---- */

static long long
port_of(const json_t *cache)
{
	return json_object_get(cache, "port") != NULL ? number_of(cache, "port") : CACHE_PORT;
}

void
import_restart(struct import *im, json_t *limit, json_int_t minutes)
{
	if (minutes > RESTART_MAX / 60) {
		minutes = RESTART_MAX / 60;
		import_verdict(im, "changed: the session is established again after a day");
	}
	json_object_set_new(limit, "restart_s", json_integer(minutes * 60));
}

bool
import_cache(struct import *im, json_t *cache)
{
	json_t *caches = member_made(
		       member_made(im->document, "rpki", json_object()), "caches", json_array()),
	       *other;
	const char *address = json_string_value(json_object_get(cache, "address"));
	bool good = *im->verdict != 'n' && import_is_host(address);
	size_t i;

	if (!good && *im->verdict != 'n')
		import_verdict(im, "not carried: no address of a host");
	json_array_foreach(caches, i, other)
	{
		if (!good ||
			!text_same_address(
				json_string_value(json_object_get(other, "address")), address) ||
			port_of(other) != port_of(cache))
			continue;
		import_verdict(im, "not carried: the cache occurs before");
		good = false;
	}
	if (good && json_array_size(caches) == CACHES_MAX) {
		import_verdict(im, "not carried: keeld has at most %u caches", CACHES_MAX);
		good = false;
	}
	if (good)
		json_array_append(caches, cache);
	json_decref(cache);
	return good;
}

/* ---- static routes ---- */

/* The elements of the section with the prefix. */
static json_t *
with_prefix(struct import *im, const char *section, const json_t *o)
{
	char key[96];

	snprintf(key, sizeof(key), "%s %s", section,
		json_string_value(json_object_get(o, "prefix")));
	return member_made(im->prefixes, key, json_array());
}

bool
import_static_route(struct import *im, json_t *o, char why[64])
{
	json_t *routes = with_prefix(im, "static_routes", o), *other;
	const char *prefix = json_string_value(json_object_get(o, "prefix")),
		   *hop = json_string_value(json_object_get(o, "next_hop"));
	size_t i;

	*why = '\0';
	if (hop != NULL && !import_is_host(hop))
		snprintf(why, 64, "not carried: the next hop is no address of a host");
	else if (hop != NULL && strchr(prefix, ':') != NULL && strchr(hop, ':') == NULL)
		snprintf(why, 64, "not carried: an IPv6 prefix needs an IPv6 next hop");
	json_array_foreach(routes, i, other)
	{
		const char *theirs = json_string_value(json_object_get(other, "next_hop"));

		if ((hop == NULL) != (theirs == NULL))
			snprintf(why, 64, "not carried: the prefix has a route of another kind");
		else if (hop == NULL || text_same_address(hop, theirs))
			snprintf(why, 64, "changed: left out; the route occurs before");
	}
	if (*why == '\0') {
		json_array_append(routes, o);
		json_array_append(member_made(im->document, "static_routes", json_array()), o);
	}
	json_decref(o);
	return *why == '\0';
}

bool
import_prefix_once(struct import *im, const char *section, json_t *o)
{
	json_t *same = with_prefix(im, section, o);
	bool fresh = json_array_size(same) == 0;

	if (fresh) {
		json_array_append(same, o);
		json_array_append(member_made(im->bgp, section, json_array()), o);
	}
	json_decref(o);
	return fresh;
}

/* ---- neighbours ---- */

static bool
is_true(const json_t *o, const json_t *group, const char *key)
{
	return json_is_true(import_value_of(o, group, key));
}

/* Sets or removes (NULL) the key of a neighbour, with a verdict. */
static void
replace(struct import *im, const char *what, json_t *o, const char *key, json_t *value,
	const char *why)
{
	if (value != NULL)
		json_object_set_new(o, key, value);
	else
		json_object_del(o, key);
	import_end_report(im, what, "not carried: %s %s", key, why);
}

/* The reason why the neighbour cannot have the source; NULL: it can. */
static const char *
source_fault(const char *source, const char *address)
{
	const char *zone = strchr(source, '%');

	if (!import_is_host(source))
		return "is no address of a host";
	if (address == NULL)
		return NULL;
	if ((strchr(source, ':') == NULL) != (strchr(address, ':') == NULL))
		return "is of another family than the neighbour";
	if (zone != NULL && !is(zone, strchr(address, '%')))
		return "is on another link than the neighbour";
	return text_same_address(source, address) ? "is the address of the neighbour" : NULL;
}

/* False: the group has a source or hops that the neighbour cannot have. */
static bool
check_address(
	struct import *im, const char *what, const char *address, json_t *o, const json_t *group)
{
	const char *source = json_string_value(json_object_get(o, "source")),
		   *zone = strchr(address, '%'), *why;
	char zoned[128];

	if (source != NULL && zone != NULL) {
		/* only a link-local address is a host with a zone */
		snprintf(zoned, sizeof(zoned), "%s%s", source, zone);
		if (import_is_host(zoned))
			json_object_set_new(o, "source", json_string(zoned));
		source = json_string_value(json_object_get(o, "source"));
	}
	why = source != NULL ? source_fault(source, address) : NULL;
	if (why != NULL)
		replace(im, what, o, "source", NULL, why);
	source = json_string_value(import_value_of(o, group, "source"));
	why = source != NULL ? source_fault(source, address) : NULL;
	if (why != NULL) {
		import_end_report(im, what, "not carried: source of the group %s", why);
		return false;
	}
	if (zone != NULL && json_object_get(o, "multihop") != NULL)
		replace(im, what, o, "multihop", NULL, "of a link-local address");
	if (zone == NULL || json_object_get(group, "multihop") == NULL)
		return true;
	import_end_report(im, what, "not carried: multihop of the group, of a link-local address");
	return false;
}

static void
check_families(struct import *im, const char *what, json_t *o, const json_t *group, bool external)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"},
				 *const keys[] = {"remove_private_as", "as_override"};
	const json_t *own = json_object_get(o, "families"),
		     *theirs = json_object_get(group, "families");

	for (unsigned i = 0; i < 2; i++) {
		json_t *f = json_object_get(own, names[i]);
		const json_t *of_group = json_object_get(theirs, names[i]);

		for (unsigned k = 0; k < 2 && !external; k++) {
			if (!is_true(f, of_group, keys[k]))
				continue;
			f = member_made(
				member_made(o, "families", json_object()), names[i], json_object());
			replace(im, what, f, keys[k], json_false(), "of an internal neighbour");
		}
		if (!is_true(f, of_group, "next_hop_self") ||
			!is_true(f, of_group, "next_hop_unchanged"))
			continue;
		f = member_made(member_made(o, "families", json_object()), names[i], json_object());
		replace(im, what, f, "next_hop_unchanged", json_false(), "beside next_hop_self");
	}
}

/* A keepalive time below the hold time, where the group has the keepalive time or the hold time. */
static void
check_times(struct import *im, const char *what, json_t *o, const json_t *group)
{
	const json_t *own = json_object_get(o, "timers"),
		     *theirs = json_object_get(group, "timers"),
		     *hold = import_value_of(own, theirs, "hold_s"),
		     *keepalive = import_value_of(own, theirs, "keepalive_s");
	json_int_t seconds = hold != NULL ? json_integer_value(hold) : HOLD_DEFAULT;

	if (keepalive == NULL || seconds == 0 || json_integer_value(keepalive) < seconds)
		return;
	json_object_set_new(
		member_made(o, "timers", json_object()), "keepalive_s", json_integer(seconds / 3));
	import_end_report(im, what, "changed: the keepalive time is a third of the hold time");
}

/* Keys of an external or internal neighbour alone. False: the key of the group cannot be left out. */
static bool
check_kind(struct import *im, const char *what, json_t *o, const json_t *group, bool external)
{
	const json_t *own = json_object_get(json_object_get(im->document, "router"), "asn"),
		     *local = import_value_of(o, group, "local_as"),
		     *role = import_value_of(o, group, "role");

	if (!external && is_true(o, group, "route_server_client"))
		replace(im, what, o, "route_server_client", json_false(),
			"of an internal neighbour");
	if (external && is_true(o, group, "route_reflector_client"))
		replace(im, what, o, "route_reflector_client", json_false(),
			"of an external neighbour");
	if (!external && role != NULL && !is(json_string_value(role), "none"))
		replace(im, what, o, "role", json_string("none"), "of an internal neighbour");
	if (is_true(o, group, "gtsm") && import_value_of(o, group, "multihop") != NULL)
		replace(im, what, o, "gtsm", json_false(), "over several hops");
	if (local == NULL)
		return true;
	if (external ? !json_equal(local, import_value_of(o, group, "asn"))
		     : json_equal(local, own))
		return true;
	replace(im, what, o, "local_as", NULL,
		external ? "is the AS number of the neighbour" : "of an internal neighbour");
	if (json_object_get(group, "local_as") == NULL)
		return true;
	return own != NULL &&
	       json_object_set_new(o, "local_as", json_integer(json_integer_value(own))) == 0;
}

/* False, with a verdict: a neighbour with the address cannot have the keys. */
static bool
check_neighbour(
	struct import *im, const char *what, const char *address, json_t *o, const json_t *group)
{
	const json_t *asn = import_value_of(o, group, "asn");
	bool external =
		!json_equal(asn, json_object_get(json_object_get(im->document, "router"), "asn"));

	if (!check_address(im, what, address, o, group) ||
		!check_kind(im, what, o, group, external))
		return false;
	check_families(im, what, o, group, external);
	check_times(im, what, o, group);
	return true;
}

void
import_check_neighbours(struct import *im)
{
	json_t *peers = json_object_get(im->bgp, "peers"),
	       *ranges = json_object_get(im->bgp, "listen_ranges"),
	       *groups = json_object_get(im->bgp, "groups"), *o, *none;
	const char *source, *what, *why, *group;
	size_t i;

	json_array_foreach(groups, i, o)
	{
		source = json_string_value(json_object_get(o, "source"));
		why = source != NULL ? source_fault(source, NULL) : NULL;
		if (why != NULL)
			replace(im, json_string_value(json_object_get(o, "name")), o, "source",
				NULL, why);
	}
	for (i = json_array_size(peers); i-- > 0;) {
		o = json_array_get(peers, i);
		what = json_string_value(json_object_get(o, "address"));
		if (!import_is_host(what)) {
			import_end_report(im, what,
				"not carried: no address of a host; a link-local address needs "
				"%%INTERFACE");
			json_array_remove(peers, i);
		} else if (!check_neighbour(im, what, what, o, import_group_of(im, o))) {
			import_end_report(im, what, "not carried: the neighbour is left out");
			json_array_remove(peers, i);
		}
	}
	for (i = json_array_size(ranges); i-- > 0;) {
		o = json_array_get(ranges, i);
		what = json_string_value(json_object_get(o, "prefix"));
		none = json_object();
		/* neighbours of a range have the keys of the group alone */
		group = json_string_value(json_object_get(o, "group"));
		check_times(im, group, import_named(groups, "name", group), NULL);
		if (!check_neighbour(im, what, what, none, import_group_of(im, o)) ||
			json_object_size(none) > 0) {
			import_end_report(im, what, "not carried: the range is left out");
			json_array_remove(ranges, i);
		}
		json_decref(none);
	}
}

/* ---- texts ---- */

void
import_check_texts(struct import *im, json_t *value)
{
	const char *key, *text;
	json_t *v;
	size_t i;

	json_array_foreach(value, i, v) import_check_texts(im, v);
	json_object_foreach(value, key, v)
	{
		text = is(key, "description") ? json_string_value(v) : NULL;
		i = DESCRIPTION_MAX;
		if (text == NULL) {
			import_check_texts(im, v);
		} else if (strlen(text) > i) {
			while ((text[i] & 0xc0) == 0x80)
				i--;
			import_end_report(
				im, key, "changed: only the first %zu octets are kept", i);
			json_object_set_new(value, key, json_stringn(text, i));
		}
	}
}
