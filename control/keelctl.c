/* SPDX-License-Identifier: BSD-3-Clause */
/* keelctl: options, exit status, rpc and refresh. */
#include "control/keelctl.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/keel/keel.sock"
#define JOB_POLL_MS 100

static const char usage[] =
	"usage: keelctl [--socket PATH] [--json] COMMAND...\n"
	"  show bgp summary                              sessions, one line a peer and family\n"
	"  show bgp peer ADDRESS                         one session in full\n"
	"  show route [ipv6] [PREFIX [longer]] [peer ADDRESS] [advertised]\n"
	"                                                routes: best and others; of a peer; sent "
	"to a peer\n"
	"  show route ADDRESS                            the longest match\n"
	"  show rib                                      size of the tables\n"
	"  show fib [stats]                              the forwarding tables\n"
	"  show fib ADDRESS                              where the workers send a packet\n"
	"  show dataplane [neighbors]                    ports and workers; who is on the links\n"
	"  show jobs                                     what runs and what ran\n"
	"  show configuration [running | candidate | startup]\n"
	"  show version                                  the daemon and its alarms\n"
	"  display ...                                   the same as show\n"
	"  refresh bgp [ipv6] {all | ADDRESS | external | internal | group NAME} {import | "
	"export}\n"
	"  reset bgp [ipv6] {all | AS-NUMBER | ADDRESS | external | internal | group NAME}\n"
	"  reset bgp {ipv4 | ipv6} [ADDRESS] slow-peer   sessions end, with all their families\n"
	"  rpc METHOD [JSON]                             any method; JSON \"-\" is read from "
	"standard input\n"
	"Keywords may be abbreviated while unique.\n"
	"  --socket PATH       default $KEEL_SOCKET, then " DEFAULT_SOCKET "\n"
	"  --json              results as JSON, on one line\n"
	"  --version, --help\n"
	"Exit status: 0 done, 1 the daemon refused it, 2 bad usage, 3 no daemon reachable.\n";

/* ---- calls ---- */

void
ctl_fail(struct ctl *ctl, int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout); /* in order with what a terminal shows already */
	fputs("keelctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	ctl->status = status;
}

/* One line a fault; those that name no member only say why. */
static void
refused(struct ctl *ctl, const char *method, const json_t *error)
{
	const json_t *data = json_object_get(error, "data"),
		     *errors = json_object_get(data, "errors"), *e;
	const char *message = text_of(error, "message");
	size_t i;

	if (json_array_size(errors) == 0)
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s (%lld)", method, message,
			number_of(error, "code"));
	json_array_foreach(errors, i, e)
	{
		const char *path = text_of(e, "path");

		ctl_fail(ctl, EXIT_REFUSED, "%s: %s: %s%s%s (%lld)", method,
			text_of(error, "message"), path, *path != '\0' ? ": " : "",
			text_of(e, "reason"), number_of(error, "code"));
	}
}

json_t *
ctl_call(struct ctl *ctl, const char *method, json_t *params)
{
	json_t *answer, *result;
	int err;

	if (ctl->client == NULL) {
		err = client_open(ctl->socket, &ctl->client);
		if (err != 0) {
			json_decref(params);
			ctl_fail(ctl, EXIT_NO_DAEMON, "no daemon at %s: %s", ctl->socket,
				strerror(-err));
			return NULL;
		}
	}
	err = client_call(ctl->client, method, params, &answer);
	if (err != 0) {
		ctl_fail(ctl, EXIT_NO_DAEMON, "%s: no answer from the daemon at %s: %s", method,
			ctl->socket,
			err == -ECONNRESET || err == -EPIPE ? "it closed the connection"
							    : strerror(-err));
		return NULL;
	}
	result = json_incref(json_object_get(answer, "result"));
	if (result == NULL)
		refused(ctl, method, json_object_get(answer, "error"));
	json_decref(answer);
	return result;
}

void
ctl_print_json(const json_t *value, bool indented)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | (indented ? JSON_INDENT(2) : JSON_COMPACT));
	putchar('\n');
}

/* ---- rpc ---- */

static json_t *
read_params(struct ctl *ctl, const char *text)
{
	bool from_stdin = strcmp(text, "-") == 0;
	json_error_t error;
	json_t *params = from_stdin ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
				    : json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (params == NULL)
		ctl_fail(ctl, EXIT_USAGE,
			"the parameters are not a JSON object: line %d, column %d: %s", error.line,
			error.column, text_safe(error.text));
	return params;
}

static void
rpc_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = NULL, *result;

	if (c->params != NULL) {
		params = read_params(ctl, c->params);
		if (params == NULL)
			return;
	}
	result = ctl_call(ctl, c->method, params);
	if (result != NULL)
		ctl_print_json(result, ctl->terminal && !ctl->json);
	json_decref(result);
}

/* ---- refresh ---- */

/* The daemon took it, but not one session can do it. */
static bool
nobody_did(const json_t *peers)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		const char *action = text_of(peer, "action");

		if (strcmp(action, "unsupported") != 0 && strcmp(action, "not-established") != 0)
			return false;
	}
	return true;
}

static void
refresh_print(struct ctl *ctl, const json_t *peers)
{
	static const struct column columns[] = {
		{"Peer", false}, {"VRF", false}, {"Action", false}, {"Reason", false}};
	struct table t = table_begin(columns, 4);
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		const char *action = text_of(peer, "action");
		bool failed = strcmp(action, "unsupported") == 0 ||
			      strcmp(action, "not-established") == 0;

		table_cell(&t, PLAIN, "%s", text_of(peer, "address"));
		table_cell(&t, PLAIN, "%s", text_of(peer, "vrf"));
		table_cell(&t, failed ? YELLOW : GREEN, "%s", action);
		table_cell(&t, PLAIN, "%s", text_of(peer, "reason"));
	}
	table_end(&t, ctl, 0);
}

/* On a terminal: one line that follows the job until it has ended. Interrupted, the job goes on. */
static void
job_follow(struct ctl *ctl, long long id)
{
	char spent[SHORT_TEXT];
	bool running = true;

	while (running) {
		json_t *job = ctl_call(ctl, "jobs.get", json_pack("{s:I}", "id", (json_int_t)id));

		if (job == NULL)
			return;
		running = strcmp(text_of(job, "state"), "running") == 0;
		if (!running)
			ns_text((real_of(job, "finished_s") - real_of(job, "started_s")) * 1e9,
				spent);
		printf("\r\033[Kjob %lld: %lld of %lld sessions, %s%s%s", id,
			number_of(job, "done"), number_of(job, "total"), text_of(job, "state"),
			running ? "" : " after ", running ? "" : spent);
		fflush(stdout);
		if (strcmp(text_of(job, "state"), "failed") == 0) {
			putchar('\n');
			ctl_fail(ctl, EXIT_REFUSED, "job %lld failed: %s", id,
				text_of(json_object_get(job, "result"), "reason"));
		} else if (!running) {
			putchar('\n');
		}
		json_decref(job);
		if (running)
			poll(NULL, 0, JOB_POLL_MS);
	}
}

static void
refresh_command(struct ctl *ctl, const struct command *c)
{
	json_t *result = ctl_call(ctl, "bgp.refresh",
		json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:s}", "family", c->family, "scope",
			c->scope, "vrf", c->vrf, "peer", c->peer, "group", c->group, "direction",
			c->direction));
	const json_t *job, *peers;

	if (result == NULL)
		return;
	peers = json_object_get(result, "peers");
	job = json_object_get(result, "job");
	if (ctl->json)
		ctl_print_json(result, false);
	else
		refresh_print(ctl, peers);
	if (nobody_did(peers))
		ctl->status = EXIT_REFUSED;
	else if (!ctl->json && ctl->terminal && json_is_integer(job))
		job_follow(ctl, (long long)json_integer_value(job));
	json_decref(result);
}

/* ---- reset: at once, for nobody is asked here ---- */

static bool
nobody_was_reset(const json_t *peers)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		if (strcmp(text_of(peer, "action"), "reset") == 0)
			return false;
	}
	return true;
}

static void
reset_print(struct ctl *ctl, const json_t *peers)
{
	static const struct column columns[] = {
		{"Peer", false}, {"VRF", false}, {"Action", false}, {"Families dropped", false}};
	struct table t = table_begin(columns, 4);
	const json_t *peer, *family;
	size_t i, n;

	json_array_foreach(peers, i, peer)
	{
		const char *action = text_of(peer, "action");
		char families[128] = "";

		json_array_foreach(json_object_get(peer, "families_dropped"), n, family)
		{
			size_t at = strlen(families);

			snprintf(families + at, sizeof(families) - at, "%s%s", n > 0 ? " " : "",
				json_is_string(family) ? json_string_value(family) : "?");
		}
		table_cell(&t, PLAIN, "%s", text_of(peer, "address"));
		table_cell(&t, PLAIN, "%s", text_of(peer, "vrf"));
		table_cell(&t, strcmp(action, "reset") == 0 ? GREEN : YELLOW, "%s", action);
		table_cell(&t, PLAIN, "%s", *families != '\0' ? text_safe(families) : "-");
	}
	table_end(&t, ctl, 0);
}

static void
reset_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:b}", "family", c->family,
		"scope", c->scope, "vrf", c->vrf, "peer", c->peer, "group", c->group, "force", 1);
	json_t *result;

	if (c->asn != 0)
		json_object_set_new(params, "asn", json_integer(c->asn));
	result = ctl_call(ctl, "bgp.reset", params);
	if (result == NULL)
		return;
	if (ctl->json)
		ctl_print_json(result, false);
	else
		reset_print(ctl, json_object_get(result, "peers"));
	if (nobody_was_reset(json_object_get(result, "peers")))
		ctl->status = EXIT_REFUSED;
	json_decref(result);
}

/* ---- start ---- */

/* Who reads us has gone (| head): that is no fault of ours, and there is nothing more to do. */
static void
reader_gone(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_DONE);
}

static void
run(struct ctl *ctl, const struct command *c)
{
	if (c->later != NULL)
		ctl_fail(ctl, EXIT_REFUSED, "%s: " NOT_SUPPORTED, c->later);
	else if (c->kind == COMMAND_RPC)
		rpc_command(ctl, c);
	else if (c->kind == COMMAND_REFRESH)
		refresh_command(ctl, c);
	else if (c->kind == COMMAND_RESET)
		reset_command(ctl, c);
	else if (c->kind == COMMAND_SHOW_ROUTE)
		show_route(ctl, c);
	else
		show_command(ctl, c);
}

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct ctl *ctl)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			ctl->socket = optarg;
			break;
		case 'j':
			ctl->json = true;
			break;
		case 'V':
			puts("keelctl " KEEL_VERSION);
			return EXIT_DONE;
		case 'h':
			fputs(usage, stdout);
			return EXIT_DONE;
		default:
			fputs("keelctl --help tells more\n", stderr);
			return EXIT_USAGE;
		}
	}
	return -1;
}

static void
surroundings(struct ctl *ctl)
{
	const struct sigaction sa = {.sa_handler = reader_gone};
	const char *socket = getenv("KEEL_SOCKET"), *no_color = getenv("NO_COLOR"),
		   *term = getenv("TERM");

	sigaction(SIGPIPE, &sa, NULL);
	ctl->socket = socket != NULL && *socket != '\0' ? socket : DEFAULT_SOCKET;
	ctl->terminal = isatty(STDOUT_FILENO);
	ctl->colour = ctl->terminal && (no_color == NULL || *no_color == '\0') &&
		      (term == NULL || strcmp(term, "dumb") != 0);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {.status = EXIT_DONE};
	struct command command;
	char error[640];
	int status;

	surroundings(&ctl);
	status = parse_options(argc, argv, &ctl);
	if (status >= 0)
		return status;
	if (optind == argc) {
		fputs("keelctl: a command is wanted: the interactive shell is " NOT_SUPPORTED
		      "; keelctl --help tells more\n",
			stderr);
		return EXIT_USAGE;
	}
	if (argc - optind == 1 && strchr(argv[optind], ';') != NULL) {
		fputs("keelctl: commands joined by \";\" are " NOT_SUPPORTED "\n", stderr);
		return EXIT_USAGE;
	}
	if (command_parse(argv + optind, (unsigned)(argc - optind), &command, error,
		    sizeof(error)) != 0) {
		fprintf(stderr, "keelctl: %s\n", text_safe(error));
		return EXIT_USAGE;
	}
	run(&ctl, &command);
	client_close(ctl.client);
	if ((fflush(stdout) != 0 || ferror(stdout)) && ctl.status == EXIT_DONE)
		ctl_fail(&ctl, EXIT_REFUSED, "standard output: %s", strerror(errno));
	return ctl.status;
}
