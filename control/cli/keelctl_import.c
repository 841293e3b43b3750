/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration of another router as a document (keel.json), and a verdict for each line of the file:
 * `done`, `changed: how` or `not carried: why`. A line is only carried if the key of keel.json has the same
 * meaning. Helpers of the dialects. One thread; no daemon, no terminal.
 */
#include "control/cli/keelctl_import.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

bool
import_verdict(struct import *im, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(im->verdict, sizeof(im->verdict), fmt, ap);
	va_end(ap);
	return true;
}

void
import_report_at(
	struct import *im, const char *place, unsigned line, const char *text, const char *verdict)
{
	bool secret = strstr(text, "password") != NULL || strstr(text, "cipher") != NULL;

	im->not_carried += verdict != NULL && strncmp(verdict, "not", 3) == 0;
	if (place != NULL)
		fprintf(im->report, "%s: ", text_safe(place));
	else
		fprintf(im->report, "%u: ", line);
	fprintf(im->report, "%s: ", secret ? "password" : text_safe(text));
	fprintf(im->report, "%s\n",
		verdict != NULL && *verdict != '\0' ? text_safe(verdict) : "done");
}

void
import_report(struct import *im, unsigned line, const char *text, const char *verdict)
{
	import_report_at(im, NULL, line, text, verdict);
}

void
import_end_report(struct import *im, const char *what, const char *fmt, ...)
{
	char verdict[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict, sizeof(verdict), fmt, ap);
	va_end(ap);
	import_report(im, ++im->line, what, verdict);
}

json_t *
import_named(json_t *array, const char *key, const char *name)
{
	/* lines of one element follow each other */
	json_t *o = json_array_get(array, json_array_size(array) - 1);
	size_t i;

	if (is(json_string_value(json_object_get(o, key)), name))
		return o;
	json_array_foreach(array, i, o)
	{
		if (is(json_string_value(json_object_get(o, key)), name))
			return o;
	}
	return NULL;
}

const json_t *
import_group_of(const struct import *im, const json_t *o)
{
	return import_named(json_object_get(im->bgp, "groups"), "name",
		json_string_value(json_object_get(o, "group")));
}

json_t *
import_value_of(const json_t *o, const json_t *group, const char *key)
{
	json_t *v = json_object_get(o, key);

	return v != NULL ? v : json_object_get(group, key);
}

json_t *
import_element(json_t *home, const char *section, const char *key, const char *name)
{
	json_t *array = member_made(home, section, json_array()),
	       *o = import_named(array, key, name);

	if (o == NULL) {
		o = json_pack("{s:s}", key, name);
		json_array_append_new(array, o);
	}
	return o;
}

/* The length of the character of UTF-8 at `s`, of `n` octets; 0: not UTF-8. */
static size_t
utf8_length(const unsigned char *s, size_t n)
{
	size_t len = *s < 0x80	 ? 1
		     : *s < 0xc2 ? 0
		     : *s < 0xe0 ? 2
		     : *s < 0xf0 ? 3
		     : *s < 0xf5 ? 4
				 : 0;

	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	/* overlong, surrogates, more than U+10FFFF */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
		(*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

bool
import_read_line(FILE *in, char **text, size_t *size)
{
	ssize_t n = getline(text, size, in);
	char *good, *o;

	if (n < 0)
		return false;
	good = o = malloc(2 * (size_t)n + 1);
	if (good == NULL)
		abort();
	for (size_t i = 0, len; i < (size_t)n; i += len) {
		const unsigned char *s = (const unsigned char *)*text + i;

		len = utf8_length(s, (size_t)n - i);
		if (len > 0 && *s != '\0') {
			memcpy(o, s, len);
			o += len;
			continue;
		}
		/* U+0080 to U+00FF. NUL would hide the rest of the line and becomes U+0080 */
		*o++ = (char)(0xc0 | (*s | 0x80) >> 6);
		*o++ = (char)(0x80 | (*s & 0x3f));
		len = 1;
	}
	*o = '\0';
	free(*text);
	*text = good;
	*size = 2 * (size_t)n + 1;
	return true;
}

bool
import_number(const char *text, json_int_t *out)
{
	char *end;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	*out = (json_int_t)strtoull(text, &end, 10);
	return *end == '\0' && *out >= 0 && *out <= 4294967295ll;
}

bool
import_asn(const char *text, json_int_t *out)
{
	char high[8];
	const char *dot = text != NULL ? strchr(text, '.') : NULL;
	json_int_t upper, lower;

	if (dot == NULL)
		return import_number(text, out) && *out != 0 && *out != IMPORT_AS_TRANS;
	if (dot - text > 5)
		return false;
	snprintf(high, sizeof(high), "%.*s", (int)(dot - text), text);
	if (!import_number(high, &upper) || !import_number(dot + 1, &lower) || upper > 65535 ||
		lower > 65535)
		return false;
	*out = upper << 16 | lower;
	return *out != 0 && *out != IMPORT_AS_TRANS;
}

bool
import_prefix(const char *text, char buf[64])
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	unsigned char a[16];
	int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	json_int_t length, most = family == AF_INET ? 32 : 128;

	if (slash == NULL || slash - text >= (long)sizeof(address) ||
		!import_number(slash + 1, &length) || length > most)
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	if (inet_pton(family, address, a) != 1)
		return false;
	for (json_int_t i = length; i < most; i++)
		a[i / 8] = (unsigned char)(a[i / 8] & ~(0x80 >> i % 8));
	inet_ntop(family, a, address, sizeof(address));
	return snprintf(buf, 64, "%s/%d", address, (int)length) > 0;
}

bool
import_set_number(struct import *im, json_t *o, const char *key, const char *text)
{
	/* other numbers are of 32 bits */
	static const struct {
		const char *key;
		json_int_t low, high;
	} ranges[] = {{"limit", 1, 4294967295ll}, {"threshold_percent", 1, 100},
		{"restart_s", 1, 86400}, {"connect_retry_s", 1, 65535},
		{"min_advertisement_s", 0, 600}, {"multihop", 1, 255}, {"port", 1, 65535},
		{"preference", 0, 255}, {"allow_as_in", 0, 255}};
	json_int_t n;

	if (!import_number(text, &n))
		return import_verdict(
			im, "not carried: \"%.32s\" is not a number", text ? text : "");
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (is(key, ranges[i].key) && (n < ranges[i].low || n > ranges[i].high))
			return import_verdict(im, "not carried: %s is a number from %lld to %lld",
				key, (long long)ranges[i].low, (long long)ranges[i].high);
	}
	return json_object_set_new(o, key, json_integer(n)) == 0;
}

bool
import_next_hop(struct import *im, json_t *set, const char *address)
{
	const char *old = json_string_value(json_object_get(set, "next_hop"));

	if (!import_is_host(address) || strchr(address, '%') != NULL)
		return import_verdict(
			im, "not carried: a policy cannot set the next hop \"%.45s\"", address);
	if (old != NULL && (strchr(old, ':') != NULL) != (strchr(address, ':') != NULL))
		return import_verdict(im, "not carried: a node sets the next hop of one family");
	return json_object_set_new(set, "next_hop", json_string(address)) == 0;
}

bool
import_max_paths(struct import *im, const char *text)
{
	json_int_t n;

	if (!import_number(text, &n) || n == 0)
		return import_verdict(im, "not carried: \"%.32s\" is no count of paths", text);
	if (n > IMPORT_PATHS_MAX) {
		n = IMPORT_PATHS_MAX;
		import_verdict(im, "changed: max_paths is 64, the largest value");
	}
	return json_object_set_new(im->bgp, "max_paths", json_integer(n)) == 0;
}

bool
import_timers(struct import *im, json_t *timers, const char *keepalive, const char *hold)
{
	json_int_t k, h;

	if (!import_number(keepalive, &k) || !import_number(hold, &h) || h > 65535 || h == 1 ||
		h == 2)
		return import_verdict(
			im, "not carried: %.32s %.32s are no timers of keeld", keepalive, hold);
	json_object_del(timers, "keepalive_s");
	json_object_set_new(timers, "hold_s", json_integer(h));
	/* both daemons send a keepalive after a third of the hold time at the latest */
	if (k > h / 3 || h == 0)
		return true;
	if (k == 0)
		return import_verdict(
			im, "changed: the keepalive time is a third of the hold time");
	return json_object_set_new(timers, "keepalive_s", json_integer(k)) == 0;
}

const char *
import_password_fault(const char *text)
{
	if (strlen(text) > IMPORT_PASSWORD_MAX)
		return "not carried: a password has at most 80 octets";
	return *text == '\0'	 ? "not carried: the password is empty"
	       : is(text, "***") ? "not carried: \"***\" stands for a hidden password"
				 : NULL;
}

bool
import_password(struct import *im, json_t *o, const char *text)
{
	const char *fault = import_password_fault(text);

	if (fault != NULL)
		return import_verdict(im, "%s", fault);
	return json_object_set_new(o, "password", json_string(text)) == 0;
}

void
import_unique(struct import *im, const char *original, char buf[64])
{
	const char *other;
	unsigned n = 1;
	char base[52];

	snprintf(base, sizeof(base), "%.51s", buf);
	while ((other = json_string_value(json_object_get(im->names, buf))) != NULL &&
		!is(other, original))
		snprintf(buf, 64, "%s-%u", base, ++n);
	json_object_set_new(im->names, buf, json_string(original));
}

void
import_name_text(const char *name, char buf[64])
{
	static const char *const words[] = {"all", "external", "internal", "group", "import",
		"export", "slow-peer", "accept-all", "deny-all"};
	bool good = isalpha((unsigned char)*name) && !text_is_address(name);
	size_t n;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		good = good && !is(name, words[i]);
	snprintf(buf, 64, "%s%s", good ? "" : "n-", name);
	for (n = 0; buf[n] != '\0'; n++) {
		if (!isalnum((unsigned char)buf[n]) && strchr("_.-", buf[n]) == NULL)
			buf[n] = '_';
	}
}

const char *
import_name(struct import *im, const char *name, char buf[64])
{
	import_name_text(name, buf);
	import_unique(im, name, buf);
	if (!is(buf, name))
		import_verdict(im, "changed: the name is \"%s\"", buf);
	return buf;
}

/* bgpd and VRP have a list of each family under one name, with entries of equal numbers. */
static bool
same_family(const json_t *a, const json_t *b)
{
	const char *x = json_string_value(json_object_get(a, "prefix")),
		   *y = json_string_value(json_object_get(b, "prefix"));

	return x == NULL || y == NULL || (strchr(x, ':') == NULL) == (strchr(y, ':') == NULL);
}

/* The reason why keeld refuses the entry; NULL: none. */
static const char *
entry_fault(const json_t *entry)
{
	const char *prefix = json_string_value(json_object_get(entry, "prefix")),
		   *regex = json_string_value(json_object_get(entry, "regex"));
	const json_t *ge = json_object_get(entry, "ge"), *le = json_object_get(entry, "le");
	json_int_t most, length, low;

	if (entry == NULL || (regex != NULL && !import_is_regex(regex)))
		return "keeld does not read the expression";
	if (prefix == NULL)
		return NULL;
	most = strchr(prefix, ':') != NULL ? 128 : 32;
	length = strtol(strchr(prefix, '/') + 1, NULL, 10);
	low = ge != NULL ? json_integer_value(ge) : length;
	return low < length || low > most ||
			       (le != NULL && (json_integer_value(le) < low ||
						      json_integer_value(le) > most))
		       ? "the range of lengths is empty"
		       : NULL;
}

bool
import_list_entry(
	struct import *im, const char *section, const char *name, const char *seq, json_t *entry)
{
	char buf[64];
	json_t *list = import_element(im->document, section, "name", import_name(im, name, buf)),
	       *entries = member_made(list, "entries", json_array()), *old;
	json_int_t n = 0, last = number_of(list, "_last");
	const char *fault = entry_fault(entry);
	size_t i;

	if (fault != NULL) {
		json_decref(entry);
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: %s", fault);
	}
	if (seq == NULL) {
		n = last / 5 * 5 + 5; /* as bgpd counts */
	} else if (!import_number(seq, &n)) {
		json_decref(entry);
		import_list_partial(im, section, name);
		return import_verdict(im, "not carried: \"%.32s\" is not a number", seq);
	}
	if (n > last)
		json_object_set_new(list, "_last", json_integer(n));
	json_object_set_new(entry, "seq", json_integer(n));
	json_array_foreach(n > last ? NULL : entries, i, old)
	{
		if (number_of(old, "seq") != n || !same_family(old, entry))
			continue;
		import_verdict(im, "changed: replaces the entry %lld before", (long long)n);
		return json_array_set_new(entries, i, entry) == 0;
	}
	return json_array_append_new(entries, entry) == 0;
}

bool
import_redistribute(struct import *im, const char *source, const char *policy)
{
	json_t *o =
		import_named(member_made(im->bgp, "redistribute", json_array()), "source", source);
	char buf[64];

	if (o == NULL) {
		o = json_pack("{s:s}", "source", source);
		json_array_append_new(json_object_get(im->bgp, "redistribute"), o);
	}
	return json_object_set_new(member_made(o, "_families", json_object()), im->family,
		       json_pack("{s:s*}", "policy",
			       policy != NULL ? import_name(im, policy, buf) : NULL)) == 0;
}

void
import_list_partial(struct import *im, const char *section, const char *name)
{
	char verdict[sizeof(im->verdict)], buf[64];
	json_t *list;

	memcpy(verdict, im->verdict, sizeof(verdict));
	list = import_element(im->document, section, "name", import_name(im, name, buf));
	memcpy(im->verdict, verdict, sizeof(verdict));
	member_made(list, "entries", json_array());
	json_object_set_new(list, IMPORT_PARTIAL, json_true());
}

/* A community as keeld writes it; false: not a community. */
static bool
community_text(const char *word, bool large, char buf[64])
{
	static const char *const names[][2] = {{"no-export", "no-export"},
		{"no-advertise", "no-advertise"}, {"no-export-subconfed", "no-export-subconfed"},
		{"local-AS", "no-export-subconfed"}, {"no-peer", "no-peer"},
		{"graceful-shutdown", "graceful-shutdown"}, {"blackhole", "blackhole"},
		{"accept-own", "accept-own"}, {"llgr-stale", "llgr-stale"}, {"no-llgr", "no-llgr"},
		{"internet", "0:0"}};
	json_int_t n;
	unsigned parts = 0;
	size_t len = 0;
	char copy[64], *save = NULL;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !large; i++) {
		if (is(word, names[i][0]))
			return snprintf(buf, 64, "%s", names[i][1]) > 0;
	}
	if (!large && import_number(word, &n))
		return snprintf(buf, 64, "%d:%d", (int)(n >> 16), (int)(n & 65535)) > 0;
	if (strlen(word) >= sizeof(copy) || strstr(word, "::") != NULL || *word == ':' ||
		word[strlen(word) - 1] == ':')
		return false;
	snprintf(copy, sizeof(copy), "%s", word);
	for (char *p = strtok_r(copy, ":", &save); p != NULL; p = strtok_r(NULL, ":", &save)) {
		if (!import_number(p, &n) || (!large && n > 65535) || parts == 3)
			return false;
		/* without zeros before the number */
		len += (size_t)snprintf(
			buf + len, 64 - len, "%s%lld", parts > 0 ? ":" : "", (long long)n);
		parts++;
	}
	return parts == (large ? 3 : 2);
}

bool
import_community(struct import *im, const char *word, bool large, char buf[64])
{
	return community_text(word, large, buf) ||
	       !import_verdict(im, "not carried: \"%.40s\" is not a community", word);
}

bool
import_node(struct import *im, const char *policy, json_int_t seq, const char *action)
{
	char buf[64];
	json_t *o = import_element(
		       im->document, "route_policies", "name", import_name(im, policy, buf)),
	       *nodes = member_made(o, "nodes", json_array()), *node;
	json_int_t last = number_of(o, "_last");
	const char *old;
	size_t i;

	im->node = NULL;
	json_array_foreach(seq > last ? NULL : nodes, i, node)
	{
		if (number_of(node, "seq") == seq)
			im->node = node;
	}
	if (im->node == NULL) {
		im->node = json_pack("{s:I}", "seq", seq);
		json_array_append_new(nodes, im->node);
	}
	if (seq > last)
		json_object_set_new(o, "_last", json_integer(seq));
	old = json_string_value(json_object_get(im->node, "action"));
	if (is(action, "deny")) { /* a deny calls nothing and ends the walk */
		if (json_object_get(im->node, "call") != NULL ||
			json_object_get(im->node, "_goto") != NULL ||
			json_object_get(im->node, IMPORT_WIDER) != NULL)
			json_object_set_new(im->node, IMPORT_DENY_WIDER, json_true());
		json_object_del(im->node, "call");
		json_object_del(im->node, "_goto");
		json_object_del(im->node, IMPORT_WIDER);
	} else if (is(old, "deny") && json_object_get(im->node, IMPORT_DENY_WIDER) != NULL) {
		json_object_set_new(im->node, IMPORT_WIDER, json_true());
		import_verdict(im, "not carried: node %lld would permit too much, and is left out",
			(long long)seq);
	}
	return json_object_set_new(im->node, "action", json_string(action)) == 0;
}

bool
import_set_communities(struct import *im, json_t *set, const char *key, char **words, unsigned n)
{
	bool add = n > 1 && is(words[n - 1], "additive"), large = is(key, "large_communities");
	json_t *list = json_array();
	char text[64];

	for (unsigned i = 0; i < n - add; i++) {
		if (is(words[i], "none"))
			continue;
		if (!import_community(im, words[i], large, text))
			return json_decref(list), false;
		json_array_append_new(list, json_string(text));
	}
	return json_object_set_new(
		       member_made(set, key, json_object()), add ? "add" : "replace", list) == 0;
}

void
import_filter(json_t *family, bool in, const char *key, const char *name)
{
	json_t *filters = member_made(family, in ? "_filters_in" : "_filters_out", json_object());

	json_object_set_new(filters, key, name != NULL ? json_string(name) : json_null());
}

void
import_accept_all(json_t *family, const json_t *inherited)
{
	static const char *const keys[] = {"import_policy", "export_policy"};

	for (unsigned k = 0; k < 2; k++) {
		if (json_object_get(family, keys[k]) == NULL &&
			json_object_get(inherited, keys[k]) == NULL)
			json_object_set_new(family, keys[k], json_string("accept-all"));
	}
}

/* 0: no family with lines of the file that is in use has the temporary key, 1: some, 2: all. */
static unsigned
families_with(const struct import *im, const json_t *o, const json_t *group, const char *key)
{
	static const char *const names[] = {"ipv4-unicast", "ipv6-unicast"};
	unsigned used = 0, with = 0;

	for (unsigned i = 0; i < 2; i++) {
		const json_t *f = json_object_get(json_object_get(o, "families"), names[i]),
			     *theirs =
				     json_object_get(json_object_get(group, "families"), names[i]);

		const json_t *enabled = import_value_of(f, theirs, "enabled");

		if (enabled != NULL
				? json_is_false(enabled)
				: (f == NULL && theirs == NULL) || im->no_default_family || i > 0)
			continue;
		used++;
		with += json_is_true(import_value_of(f, theirs, key));
	}
	return with == 0 ? 0 : with < used ? 1 : 2;
}

void
import_key_of_families(struct import *im, const char *key)
{
	static const char *const homes[] = {"groups", "peers"};
	char temporary[64];
	json_t *o;
	size_t i;

	snprintf(temporary, sizeof(temporary), "_%s", key);
	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			const json_t *group = import_group_of(im, o),
				     *own = json_object_get(o, "families"),
				     *theirs = json_object_get(group, "families");
			const char *what =
				json_string_value(json_object_get(o, h == 0 ? "name" : "address"));
			unsigned with = families_with(im, o, group, temporary);

			if (with == 2 && !json_is_true(json_object_get(group, key)))
				json_object_set_new(o, key, json_true());
			if (with != 2 && json_is_true(json_object_get(group, key)))
				json_object_set_new(o, key, json_false());
			if (with == 1)
				import_end_report(im, what,
					"not carried: %s of one family; keeld has it for all", key);
			if (with == 2 && !im->no_default_family &&
				import_value_of(own, theirs, "ipv4-unicast") == NULL)
				import_end_report(im, what,
					"changed: %s holds for IPv4 too, which the neighbour has "
					"by default",
					key);
		}
	}
}

/* The last word of a description runs to the end of the line. */
static unsigned
split(char *text, char *words[IMPORT_WORDS])
{
	unsigned n = 0;
	char *save = NULL;

	for (char *w = strtok_r(text, " \t\r\n", &save); w != NULL && n < IMPORT_WORDS;
		w = strtok_r(NULL, " \t\r\n", &save)) {
		words[n++] = w;
		if (is(w, "description") && n + 1 < IMPORT_WORDS && *save != '\0') {
			save[strcspn(save, "\r\n")] = '\0';
			words[n++] = save;
			break;
		}
	}
	return n;
}

void
import_each_line(struct import *im, FILE *in, import_line *line)
{
	char *text = NULL, *words[IMPORT_WORDS + 4] = {NULL};
	size_t size = 0;

	while (import_read_line(in, &text, &size)) {
		char *copy = strdup(text);
		unsigned n = copy != NULL ? split(copy, words) : 0;

		for (unsigned i = n; i < IMPORT_WORDS + 4; i++)
			words[i] = NULL; /* of the line before */
		im->line++;
		im->verdict[0] = '\0';
		if (n > 0 && *words[0] != '!' && *words[0] != '#') {
			if (n == IMPORT_WORDS)
				import_verdict(im, "not carried: the line has too many words");
			else
				line(im, *text == ' ' || *text == '\t', words, n);
			text[strcspn(text, "\r\n")] = '\0';
			import_report(im, im->line, text, im->verdict);
		}
		free(copy);
	}
	free(text);
}

json_t *
import_document(
	const char *dialect, const char *path, FILE *in, FILE *report, unsigned *not_carried)
{
	struct import im = {.path = path, .report = report, .family = "ipv4-unicast"};
	const json_t *router;

	im.names = json_object();
	im.prefixes = json_object();
	im.document = json_pack("{s:{}, s:{}}", "router", "bgp");
	im.bgp = json_object_get(im.document, "bgp");
	if (is(dialect, "bird"))
		import_bird(&im, in);
	else if (is(dialect, "vrp"))
		import_vrp(&im, in);
	else
		import_frr(&im, in);
	import_finish(&im);
	import_check_validation(&im);
	router = json_object_get(im.document, "router");
	if (json_object_get(router, "router_id") == NULL)
		import_report(&im, im.line + 1, "router_id",
			"not carried: the file has no router id; add router.router_id");
	if (json_object_get(router, "asn") == NULL)
		import_report(&im, im.line + 1, "asn",
			"not carried: the file has no local AS number; add router.asn");
	json_decref(im.names);
	json_decref(im.prefixes);
	*not_carried = im.not_carried;
	return im.document;
}
