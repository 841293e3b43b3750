/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import {bird | frr | vrp} FILE: the configuration of another router as keel.json on standard output.
 * For each line of the file, standard error says `done`, `changed: how` or `not carried: why`. A line
 * is only carried if the key of keel.json has the same meaning. One thread; no daemon.
 */
#include "control/cli/keelctl_import.h"

#include <ctype.h>
#include <errno.h>
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
import_report(struct import *im, unsigned line, const char *text, const char *verdict)
{
	bool secret = strstr(text, "password") != NULL || strstr(text, "cipher") != NULL;

	im->not_carried += verdict != NULL && strncmp(verdict, "not", 3) == 0;
	fprintf(im->report, "%u: %s: ", line, secret ? "password" : text_safe(text));
	fprintf(im->report, "%s\n",
		verdict != NULL && *verdict != '\0' ? text_safe(verdict) : "done");
}

json_t *
import_made(json_t *o, const char *key, json_t *fresh)
{
	json_t *m = json_object_get(o, key);

	if (m == NULL)
		json_object_set_new(o, key, fresh);
	else
		json_decref(fresh);
	return json_object_get(o, key);
}

json_t *
import_named(json_t *array, const char *key, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach(array, i, o)
	{
		if (is(json_string_value(json_object_get(o, key)), name))
			return o;
	}
	return NULL;
}

json_t *
import_element(json_t *home, const char *section, const char *key, const char *name)
{
	json_t *array = import_made(home, section, json_array()),
	       *o = import_named(array, key, name);

	if (o == NULL) {
		o = json_pack("{s:s}", key, name);
		json_array_append_new(array, o);
	}
	return o;
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
import_set_number(struct import *im, json_t *o, const char *key, const char *text)
{
	json_int_t n;

	if (!import_number(text, &n))
		return import_verdict(
			im, "not carried: \"%.32s\" is not a number", text ? text : "");
	return json_object_set_new(o, key, json_integer(n)) == 0;
}

const char *
import_name(struct import *im, const char *name, char buf[64])
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
	if (!is(buf, name))
		import_verdict(im, "changed: the name is \"%s\"", buf);
	return buf;
}

bool
import_list_entry(
	struct import *im, const char *section, const char *name, const char *seq, json_t *entry)
{
	char buf[64];
	json_t *list = import_element(im->document, section, "name", import_name(im, name, buf));
	json_int_t n = 0;

	if (seq != NULL && import_number(seq, &n))
		json_object_set_new(entry, "seq", json_integer(n));
	return json_array_append_new(import_made(list, "entries", json_array()), entry) == 0;
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

	while (getline(&text, &size, in) >= 0) {
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

static int
by_seq(const void *a, const void *b)
{
	long long left = number_of(*(json_t *const *)a, "seq"),
		  right = number_of(*(json_t *const *)b, "seq");

	return left < right ? -1 : left > right;
}

/* Sorts an array by `seq`. */
static void
sort(json_t *array)
{
	size_t n = json_array_size(array), i;
	json_t **all = calloc(n + 1, sizeof(*all));

	for (i = 0; all != NULL && i < n; i++)
		all[i] = json_incref(json_array_get(array, i));
	if (all != NULL) {
		qsort(all, n, sizeof(*all), by_seq);
		json_array_clear(array);
		for (i = 0; i < n; i++)
			json_array_append_new(array, all[i]);
	}
	free(all);
}

void
import_sort(struct import *im)
{
	static const char *const lists[] = {"prefix_lists", "as_path_lists", "community_lists",
		"large_community_lists", "ext_community_lists"};
	json_t *o, *entry;
	size_t i, k;

	for (unsigned s = 0; s < sizeof(lists) / sizeof(lists[0]); s++) {
		json_array_foreach(json_object_get(im->document, lists[s]), i, o)
		{
			sort(json_object_get(o, "entries"));
			json_array_foreach(json_object_get(o, "entries"), k, entry)
				json_object_del(entry, "seq");
		}
	}
	json_array_foreach(json_object_get(im->document, "route_policies"), i, o)
	{
		json_t *nodes = json_object_get(o, "nodes");

		for (k = json_array_size(nodes); k-- > 0;) {
			if (json_object_get(json_array_get(nodes, k), IMPORT_WIDER) != NULL)
				json_array_remove(nodes, k);
		}
		sort(nodes);
	}
}

/* True if the policy has a condition on `validation`. */
static bool
validates(const struct import *im, const char *name)
{
	json_t *policy =
		       import_named(json_object_get(im->document, "route_policies"), "name", name),
	       *node;
	size_t i;

	json_array_foreach(json_object_get(policy, "nodes"), i, node)
	{
		if (json_object_get(json_object_get(node, "match"), "validation") != NULL)
			return true;
	}
	return false;
}

void
import_check_validation(struct import *im)
{
	static const char *const homes[] = {"groups", "peers"};
	const char *name, *family;
	json_t *o, *f;
	size_t i;

	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			json_object_foreach(json_object_get(o, "families"), family, f)
			{
				name = json_string_value(json_object_get(f, "export_policy"));
				if (name == NULL || !validates(im, name))
					continue;
				import_report(im, ++im->line, name,
					"not carried: validation in an export policy; no route is "
					"advertised");
				json_object_set_new(f, "export_policy", json_string("deny-all"));
			}
		}
	}
}

void
import_command(struct ctl *ctl, const struct command *c)
{
	struct import im = {.report = stderr, .family = "ipv4-unicast"};
	FILE *in = fopen(c->file, "re");
	const json_t *router;

	if (in == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", text_safe(c->file), strerror(errno));
		return;
	}
	im.document = json_pack("{s:{}, s:{}}", "router", "bgp");
	im.bgp = json_object_get(im.document, "bgp");
	if (is(c->dialect, "bird"))
		import_bird(&im, in);
	else if (is(c->dialect, "vrp"))
		import_vrp(&im, in);
	else
		import_frr(&im, in);
	fclose(in);
	import_sort(&im);
	import_check_validation(&im);
	router = json_object_get(im.document, "router");
	if (json_object_get(router, "router_id") == NULL)
		import_report(&im, im.line + 1, "router_id",
			"not carried: the file has no router id; add router.router_id");
	if (json_object_get(router, "asn") == NULL)
		import_report(&im, im.line + 1, "asn",
			"not carried: the file has no local AS number; add router.asn");
	ctl_print_json(im.document, true);
	if (im.not_carried > 0)
		ctl_fail(ctl, EXIT_REFUSED, "%u line%s not carried", im.not_carried,
			im.not_carried == 1 ? "" : "s");
	json_decref(im.document);
}
