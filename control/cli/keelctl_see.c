/* SPDX-License-Identifier: BSD-3-Clause */
/* show route PREFIX fate, show route PREFIX history, trace, monitor events. */
#include "control/cli/keelctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIME_FORMAT "%Y-%m-%d %H:%M:%S"

static const char *
announcer(const json_t *o)
{
	return json_is_null(json_object_get(o, "peer")) ? "this router" : text_of(o, "peer");
}

void
print_policy_node(const json_t *o)
{
	const json_t *node = json_object_get(o, "node");

	if (!json_is_string(json_object_get(o, "policy")))
		return;
	printf("policy %s", text_of(o, "policy"));
	if (json_is_string(json_object_get(o, "rule")))
		printf(", rule %s", text_of(o, "rule"));
	else if (json_is_integer(node))
		printf(", node %s", text_of(o, "node"));
	if (json_is_string(json_object_get(o, "line")))
		printf(" (%s)", text_of(o, "line"));
	else if (json_is_null(node))
		printf(", no node");
}

static void
print_import(const json_t *import)
{
	const json_t *changed = json_object_get(import, "changed"), *word;
	size_t i;

	if (import == NULL)
		return;
	fputs("     import    ", stdout);
	if (!json_is_string(json_object_get(import, "policy")))
		fputs("no policy", stdout);
	print_policy_node(import);
	if (json_is_string(json_object_get(import, "policy")) &&
		json_object_get(import, "node") == NULL)
		fputs(", node unknown (routes are not kept)", stdout);
	json_array_foreach(changed, i, word) printf("%s%s", i > 0 ? " " : ", changes ",
		text_safe(json_is_string(word) ? json_string_value(word) : "?"));
	putchar('\n');
}

static void
print_announcement(const struct ctl *ctl, const json_t *p)
{
	bool best = true_of(p, "best"), valid = true_of(p, "valid");
	const json_t *port = json_object_get(p, "port");
	char when[SHORT_TEXT], text[PORT_TEXT];

	fputs("  ", stdout);
	print_colour(ctl, best ? GREEN : valid ? PLAIN : YELLOW, best ? "*>" : valid ? "* " : "  ");
	printf(" %s at %s: %s%s%s\n", announcer(p),
		time_text(real_of(p, "time"), TIME_FORMAT, when),
		best ? "best" : "not best: ", best ? "" : text_of(p, "reason"),
		true_of(p, "stale") ? ", stale" : "");
	printf("     AS path   %s, next hop %s\n", text_of(p, "as_path"), text_of(p, "next_hop"));
	if (json_is_string(json_object_get(port, "reason")))
		printf("     port      %s\n", port_text(port, text));
	print_import(json_object_get(p, "import"));
}

static void
print_refusal(const struct ctl *ctl, const json_t *r)
{
	char when[SHORT_TEXT];

	fputs("     ", stdout);
	printf("%s at %s: ", text_of(r, "peer"), time_text(real_of(r, "time"), TIME_FORMAT, when));
	print_colour(ctl, YELLOW, "refused");
	printf(": %s", text_of(r, "cause"));
	if (json_object_get(r, "policy") != NULL)
		fputs(": ", stdout);
	print_policy_node(r);
	putchar('\n');
}

static void
print_fib(const struct ctl *ctl, const json_t *fib)
{
	char text[PORT_TEXT];
	const json_t *port;
	size_t i;

	if (!json_is_object(fib))
		return;
	print_colour(ctl, BOLD, "Forwarding tables\n");
	printf("  %s; generation %s", true_of(fib, "installed") ? "installed" : "not installed",
		text_of(fib, "generation"));
	if (json_is_integer(json_object_get(fib, "since")))
		printf("; last change in generation %s or before", text_of(fib, "since"));
	else if (json_object_get(fib, "since") != NULL)
		printf("; the last change is not in a generation yet");
	putchar('\n');
	json_array_foreach(json_object_get(fib, "ports"), i, port)
		printf("  by port %s\n", port_text(port, text));
}

/* The words of `reason`, for people. */
static const char *
refusal_text(const char *reason)
{
	static const char *const text[][2] = {
		{"no-route", "there is no usable path"},
		{"not-installed", "the route is not in the forwarding tables"},
		{"no-policy", "no export policy (RFC 8212)"},
		{"own-default", "default_originate sends its own route"},
		{"source", "the best path is from this peer"},
		{"internal", "from an internal peer to an internal peer"},
		{"community", "a well-known community forbids it"},
		{"role", "OTC forbids it (RFC 9234)"},
		{"site-of-origin", "the route has the site of origin of the peer"},
		{"policy", "refused"},
		{"membership", "the peer asked for no route target of the route (RFC 4684)"},
		{"next-hop", "no next hop for this session"},
	};

	for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		if (strcmp(text[i][0], reason) == 0)
			return text[i][1];
	return reason;
}

static void
print_export(const struct ctl *ctl, const json_t *e)
{
	bool advertised = true_of(e, "advertised");

	printf("  %s: ", text_of(e, "peer"));
	print_colour(ctl, advertised ? GREEN : PLAIN, advertised ? "advertised" : "not advertised");
	if (json_object_get(e, "reason") != NULL)
		printf(": %s", refusal_text(text_of(e, "reason")));
	if (json_object_get(e, "node") != NULL) {
		fputs(advertised ? ", " : ": ", stdout);
		print_policy_node(e);
	}
	puts(true_of(e, "pending") ? " (not sent yet)" : "");
}

static void
print_fate(const struct ctl *ctl, const char *prefix, const json_t *result)
{
	const json_t *paths = json_object_get(result, "paths"),
		     *refused = json_object_get(result, "refused"),
		     *exports = json_object_get(result, "exports"), *o;
	size_t i;

	print_colour(ctl, BOLD, prefix);
	fputs(", announced by\n", stdout);
	if (json_array_size(paths) + json_array_size(refused) == 0)
		puts("  no peer");
	json_array_foreach(paths, i, o) print_announcement(ctl, o);
	json_array_foreach(refused, i, o) print_refusal(ctl, o);
	print_fib(ctl, json_object_get(result, "fib"));
	print_colour(ctl, BOLD, "Peers\n");
	if (json_array_size(exports) == 0)
		puts("  no established session");
	json_array_foreach(exports, i, o) print_export(ctl, o);
}

/* Calls a method about the prefix of the command, and prints the result. */
static void
show_of_prefix(struct ctl *ctl, const struct command *c, const char *method,
	void (*print)(const struct ctl *ctl, const char *prefix, const json_t *result))
{
	json_t *params = command_params(c), *result;

	/* of an address: the longest prefix that holds it */
	if (arg(c, "address") != NULL) {
		json_object_set(params, "prefix", json_object_get(params, "address"));
		json_object_del(params, "address");
	}
	result = ctl_call(ctl, method, params);
	if (result == NULL)
		return;
	if (ctl->json)
		ctl_print_json(result, false);
	else if (json_is_null(json_object_get(result, "prefix")))
		printf("nobody has announced a prefix that holds %s\n",
			text_safe(arg(c, "address")));
	else
		print(ctl, text_of(result, "prefix"), result);
	json_decref(result);
}

void
show_fate(struct ctl *ctl, const struct command *c)
{
	show_of_prefix(ctl, c, "rib.fate", print_fate);
}

/* ---- history ---- */

/* The words of `event`, for people. */
static const char *
event_text(const char *event)
{
	static const char *const text[][2] = {
		{"replaced", "announced with other attributes"},
		{"session-lost", "lost with the session"},
		{"stale", "not announced again"},
		{"reevaluated", "evaluated again"},
		{"next-hop-up", "next hop reachable"},
		{"next-hop-down", "next hop unreachable"},
		{"ranked", "ranked again"},
	};

	for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		if (strcmp(text[i][0], event) == 0)
			return text[i][1];
	return event;
}

/* "192.0.2.2", "this router", "none". */
static const char *
best_text(const json_t *best, const char *key)
{
	const json_t *peer = json_object_get(best, key);

	return peer == NULL ? "none" : json_is_null(peer) ? "this router" : text_of(best, key);
}

static void
print_change(const struct ctl *ctl, const json_t *c)
{
	const json_t *best = json_object_get(c, "best"), *route = json_object_get(c, "route");
	bool recorded = json_object_get(c, "recorded") == NULL;
	double time = real_of(c, "time");
	char when[SHORT_TEXT];
	int ms = (int)((time - (double)(time_t)time) * 1e3);

	fputs(time_text(time, TIME_FORMAT, when), stdout);
	if (recorded)
		printf(".%03d", ms);
	printf("%s  %s: %s", recorded ? "" : "    ", announcer(c), event_text(text_of(c, "event")));
	if (json_object_get(c, "cause") != NULL)
		printf(": %s", text_of(c, "cause"));
	if (json_object_get(c, "policy") != NULL)
		fputs(": ", stdout);
	print_policy_node(c);
	putchar('\n');
	if (route != NULL)
		printf("     AS path   %s, next hop %s\n", text_of(route, "as_path"),
			text_of(route, "next_hop"));
	if (best == NULL)
		return;
	fputs("     ", stdout);
	print_colour(ctl, json_object_get(best, "peer") != NULL ? GREEN : YELLOW, "best path");
	printf(" %s, was %s", best_text(best, "peer"), best_text(best, "was"));
	if (json_object_get(best, "reason") != NULL)
		printf(": %s", text_of(best, "reason"));
	putchar('\n');
}

static void
print_changes(const struct ctl *ctl, const char *prefix, const json_t *result)
{
	const json_t *changes = json_object_get(result, "changes"), *c;
	size_t i;

	print_colour(ctl, BOLD, prefix);
	puts(json_array_size(changes) > 0 ? ", last changes" : ", no known change");
	json_array_foreach(changes, i, c) print_change(ctl, c);
}

void
show_changes(struct ctl *ctl, const struct command *c)
{
	show_of_prefix(ctl, c, "rib.history", print_changes);
}

/* ---- events ---- */

/* "12:00:01.123456" in local time. */
static void
print_time(double seconds)
{
	time_t s = (time_t)seconds;
	struct tm tm;
	char text[16];

	localtime_r(&s, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	printf("%s.%06d", text, (int)((seconds - (double)s) * 1e6));
}

/* The members as KEY=VALUE, except the members named by `skip`. */
static void
print_members(json_t *event, const char *const skip[])
{
	const char *key;
	json_t *value;

	json_object_foreach(event, key, value)
	{
		unsigned i = 0;

		while (skip[i] != NULL && strcmp(skip[i], key) != 0)
			i++;
		if (skip[i] != NULL)
			continue;
		printf(" %s=", text_safe(key));
		print_scalar(value);
	}
	putchar('\n');
	fflush(stdout);
}

static void
print_traced(const struct ctl *ctl, json_t *event)
{
	static const char *const skip[] = {"topic", "time", "trace", "event", "at", NULL};

	if (ctl->json) {
		ctl_print_json(event, false);
		fflush(stdout);
		return;
	}
	print_time(real_of(event, json_object_get(event, "at") != NULL ? "at" : "time"));
	printf(" %-10s", text_of(event, "event"));
	print_members(event, skip);
}

static bool
subscribe(struct ctl *ctl, const char *topic)
{
	json_t *result = ctl_call(ctl, "events.subscribe", json_pack("{s:[s]}", "topics", topic));
	bool done = result != NULL;

	json_decref(result);
	return done;
}

/* ---- trace ---- */

#define TRACE_SECONDS 60

/* After Ctrl-C. */
static void
trace_interrupt(struct ctl *ctl, json_int_t id)
{
	json_t *result;

	ctl_interrupt_clear();
	result = ctl_try(ctl, "trace.stop", json_pack("{s:I}", "trace", id));
	if (result != NULL && !ctl->json)
		printf("\n%s events, %s messages, %s lost\n", text_of(result, "events"),
			text_of(result, "messages"), text_of(result, "lost"));
	json_decref(result);
}

/* Prints the events of a trace until its end. */
static void
trace_follow(struct ctl *ctl, json_int_t id)
{
	bool ended = false;
	json_t *event;

	while (!ended) {
		event = ctl_next_event(ctl);
		if (event == NULL && ctl_interrupted()) {
			trace_interrupt(ctl, id);
			return;
		}
		if (event == NULL)
			return;
		if (strcmp(text_of(event, "topic"), "lost") == 0)
			ctl_fail(ctl, EXIT_REFUSED, "%s events were lost: keelctl read too slowly",
				text_of(event, "lost"));
		if (number_of(event, "trace") == id &&
			strcmp(text_of(event, "topic"), "trace") == 0) {
			print_traced(ctl, event);
			ended = strcmp(text_of(event, "event"), "end") == 0;
		}
		json_decref(event);
	}
}

void
trace_command(struct ctl *ctl, const struct command *c)
{
	json_t *result, *params;

	ctl_interrupt_catch();
	ctl_interrupt_clear();
	if (!subscribe(ctl, "trace"))
		return;
	params = command_params(c);
	(void)member_made(params, "seconds", json_integer(TRACE_SECONDS));
	result = ctl_call(ctl, "trace.start", params);
	if (result == NULL)
		return;
	trace_follow(ctl, number_of(result, "trace"));
	json_decref(result);
	if (ctl->client != NULL)
		json_decref(ctl_try(
			ctl, "events.unsubscribe", json_pack("{s:[s]}", "topics", "trace")));
}

/* ---- monitor ---- */

void
monitor_command(struct ctl *ctl, const struct command *c)
{
	static const char *const topics[] = {
		"commit", "session", "refresh", "slow-peer", "fib", "alarm"};
	static const char *const skip[] = {"topic", "time", NULL};
	json_t *event;

	(void)c;
	ctl_interrupt_catch();
	ctl_interrupt_clear();
	for (unsigned i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		if (!subscribe(ctl, topics[i]))
			return;
	while ((event = ctl_next_event(ctl)) != NULL) {
		if (ctl->json) {
			ctl_print_json(event, false);
			fflush(stdout);
		} else {
			print_time(real_of(event, "time"));
			printf(" %-10s", text_of(event, "topic"));
			print_members(event, skip);
		}
		json_decref(event);
	}
	ctl_interrupt_clear();
	if (ctl->client != NULL)
		json_decref(ctl_try(ctl, "events.unsubscribe", NULL));
}
