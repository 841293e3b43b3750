/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of keelctl, calls to the daemon, and their progress on a terminal. */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define BRIEFLY_S 0.3
#define PROGRESS_AFTER_S 1.0 /* slower answers get a progress line */

static volatile sig_atomic_t interrupted;

/* ---- messages ---- */

int
ctl_fail(struct ctl *ctl, int status, const char *fmt, ...)
{
	va_list ap;

	ctl->status = status;
	if (ctl->quiet)
		return -1;
	fflush(stdout); /* keep the order of both streams on a terminal */
	fputs(ctl->where, stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

void
ctl_print_json(const json_t *value, bool indented)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | (indented ? JSON_INDENT(2) : JSON_COMPACT));
	putchar('\n');
}

void
ctl_result(struct ctl *ctl, json_t *result, void (*print)(struct ctl *ctl, const json_t *result))
{
	if (result != NULL && ctl->json)
		ctl_print_json(result, false);
	else if (result != NULL && print != NULL)
		print(ctl, result);
	json_decref(result);
}

/*
 * In the shell: lines typed during a progress line are not echoed, which the next progress line would erase, but
 * by the line editor at the next prompt.
 */
static void
echo_switch(const struct ctl *ctl, bool on)
{
	struct termios t;

	if (ctl->ask == NULL || tcgetattr(STDIN_FILENO, &t) != 0)
		return;
	t.c_lflag = on ? t.c_lflag | ECHO : t.c_lflag & ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

void
ctl_progress(struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	if (!ctl->terminal)
		return;
	if (!ctl->progress)
		echo_switch(ctl, false);
	fputs("\r\033[K", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	/* Ctrl-C may interrupt the write to the terminal: the line must not follow the next message */
	while (fflush(stdout) != 0 && errno == EINTR)
		clearerr(stdout);
	ctl->progress = true;
}

void
ctl_progress_end(struct ctl *ctl)
{
	if (!ctl->progress)
		return;
	ctl_progress(ctl, "%s", "");
	echo_switch(ctl, true);
	ctl->progress = false;
}

bool
ctl_interrupted(void)
{
	return interrupted != 0;
}

void
ctl_interrupt_clear(void)
{
	interrupted = 0;
}

static void
interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void
ctl_interrupt_catch(void)
{
	const struct sigaction sa = {.sa_handler = interrupt};

	sigaction(SIGINT, &sa, NULL);
}

/* ---- calls ---- */

#define CODE_READ_ONLY (-32011)
#define CODE_CONFIGURATION (-32005)
#define CODE_INVALID_PARAMS (-32602)

/*
 * The place of a fault as people read it: in the document, or the parameter. "" where the person's own
 * line or the reason names the place.
 */
static const char *
fault_place(long long code, const json_t *elements, const char *path, char *buf, size_t size)
{
	if (code == CODE_CONFIGURATION)
		return place_text(elements, path, buf, size);
	if (code != CODE_INVALID_PARAMS || *path == '\0' || strchr(path + 1, '/') != NULL)
		return "";
	snprintf(buf, size, "%s", path + 1);
	for (char *p = strchr(buf, '_'); p != NULL; p = strchr(p, '_'))
		*p = '-';
	return buf;
}

static void
fault_print(struct ctl *ctl, const json_t *error, const json_t *elements, const json_t *e)
{
	const char *reason = text_of(e, "reason"), *place;
	char buf[512];

	place = fault_place(
		number_of(error, "code"), elements, text_of(e, "path"), buf, sizeof(buf));
	ctl_fail(ctl, EXIT_REFUSED, "%s%s%s", place, *place != '\0' ? ": " : "",
		strchr(reason, ' ') != NULL ? reason
					    : text_of(error, "message")); /* else a code word */
}

void
ctl_refused(struct ctl *ctl, const char *method, const json_t *error)
{
	const json_t *data = json_object_get(error, "data"),
		     *errors = json_object_get(data, "errors"),
		     *elements = json_object_get(data, "elements"), *e;
	const char *message = text_of(error, "message");
	long long code = number_of(error, "code");
	size_t i;

	if (ctl->read_only && code == CODE_READ_ONLY) {
		ctl_fail(ctl, EXIT_REFUSED,
			"not permitted: %s: %s; the read-only socket only shows%s", ctl->socket,
			strerror(EACCES), ctl->raw ? " (-32011)" : "");
		return;
	}
	if (json_array_size(errors) == 0 && ctl->raw)
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s (%lld)", method, message, code);
	else if (json_array_size(errors) == 0)
		ctl_fail(ctl, EXIT_REFUSED, "%s", message);
	json_array_foreach(errors, i, e)
	{
		const char *path = text_of(e, "path");

		if (!ctl->raw)
			fault_print(ctl, error, json_array_get(elements, i), e);
		else
			ctl_fail(ctl, EXIT_REFUSED, "%s: %s: %s%s%s (%lld)", method, message, path,
				*path != '\0' ? ": " : "", text_of(e, "reason"), code);
	}
}

/* Shows the wait for a slow answer on a terminal. */
static bool
waiting(void *arg, double seconds)
{
	struct ctl *ctl = arg;

	if (interrupted)
		return false;
	if (seconds >= PROGRESS_AFTER_S && ctl->terminal && !ctl->json) {
		ctl_progress(ctl, "waiting for the daemon, %.0f s", seconds);
		ctl->waited = true;
	}
	return !interrupted;
}

/* A question that a prompt can do without. */
static bool
waiting_briefly(void *arg, double seconds)
{
	(void)arg;
	return !interrupted && seconds < BRIEFLY_S;
}

/* A user without permission for the socket may open the read-only socket (mode 0666). */
static int
open_socket(struct ctl *ctl)
{
	char read_only[PATH_MAX];
	int err = client_open(ctl->socket, &ctl->client);

	ctl->read_only = false;
	if (err != -EACCES ||
		snprintf(read_only, sizeof(read_only), "%s.ro", ctl->socket) >= PATH_MAX ||
		client_open(read_only, &ctl->client) != 0)
		return err;
	ctl->read_only = true;
	return 0;
}

/*
 * Connects to the daemon, again if the daemon closed the connection (after a restart). 0, -errno.
 */
static int
connection(struct ctl *ctl)
{
	int err = 0;

	if (ctl->client != NULL && client_gone(ctl->client)) {
		client_close(ctl->client);
		ctl->client = NULL;
	}
	if (ctl->client == NULL) {
		err = open_socket(ctl);
		if (err == 0 && ctl->was_connected && ctl->ask != NULL)
			fprintf(stderr, "connected to the daemon again%s\n",
				ctl->edited ? "; a restart discards edits without a commit" : "");
		ctl->was_connected |= err == 0;
	}
	return err;
}

/* A failed connection is closed, because the response may still arrive. Returns `err`. */
static int
failed(struct ctl *ctl, int err)
{
	if (err != 0) {
		client_close(ctl->client);
		ctl->client = NULL;
		ctl->was_connected &= err != -EINTR;
	}
	return err;
}

/* Takes `params`. 0, -errno. */
static int
request(struct ctl *ctl, const char *method, json_t *params)
{
	return failed(ctl, client_send(ctl->client, method, params));
}

/* The whole response; NULL with *err on failure. */
static json_t *
response(struct ctl *ctl, client_waiting *wait, int *err)
{
	json_t *answer = NULL;

	*err = client_receive(ctl->client, wait, ctl, &answer);
	if (ctl->waited)
		ctl_progress_end(ctl);
	ctl->waited = false;
	(void)failed(ctl, *err);
	return answer;
}

static void
no_answer(struct ctl *ctl, const char *method, int err)
{
	if (err == -EINTR)
		ctl_fail(ctl, EXIT_REFUSED, "%s: interrupted; the daemon completes the request",
			method);
	else
		ctl_fail(ctl, EXIT_NO_DAEMON, "%s: no answer from the daemon at %s: %s", method,
			ctl->socket,
			err == -ECONNRESET || err == -EPIPE ? "connection closed" : strerror(-err));
}

bool
ctl_send(struct ctl *ctl, const char *method, json_t *params)
{
	int err = connection(ctl);

	if (err != 0) {
		json_decref(params);
		ctl_fail(ctl, EXIT_NO_DAEMON, "no daemon at %s: %s", ctl->socket, strerror(-err));
		return false;
	}
	err = request(ctl, method, params);
	if (err != 0)
		no_answer(ctl, method, err);
	return err == 0;
}

/* As ctl_ask(), of a request that was sent. */
static json_t *
receive(struct ctl *ctl, const char *method, json_t **error)
{
	int err;
	json_t *answer = response(ctl, waiting, &err), *result;

	*error = NULL;
	if (err != 0) {
		no_answer(ctl, method, err);
		return NULL;
	}
	result = json_incref(json_object_get(answer, "result"));
	*error = json_incref(json_object_get(answer, "error"));
	json_decref(answer);
	return result;
}

json_t *
ctl_ask(struct ctl *ctl, const char *method, json_t *params, json_t **error)
{
	*error = NULL;
	return ctl_send(ctl, method, params) ? receive(ctl, method, error) : NULL;
}

json_t *
ctl_receive(struct ctl *ctl, const char *method)
{
	json_t *error, *result = receive(ctl, method, &error);

	if (error != NULL)
		ctl_refused(ctl, method, error);
	json_decref(error);
	return result;
}

json_t *
ctl_call(struct ctl *ctl, const char *method, json_t *params)
{
	return ctl_send(ctl, method, params) ? ctl_receive(ctl, method) : NULL;
}

static json_t *
try_waiting(struct ctl *ctl, const char *method, json_t *params, client_waiting *wait)
{
	json_t *answer, *result;
	int err = connection(ctl);

	if (err != 0) {
		json_decref(params);
		return NULL;
	}
	err = request(ctl, method, params);
	answer = err == 0 ? response(ctl, wait, &err) : NULL;
	result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return result;
}

json_t *
ctl_try(struct ctl *ctl, const char *method, json_t *params)
{
	return try_waiting(ctl, method, params, waiting);
}

json_t *
ctl_try_briefly(struct ctl *ctl, const char *method)
{
	return try_waiting(ctl, method, NULL, waiting_briefly);
}

static bool
awaiting_event(void *arg, double seconds)
{
	(void)arg;
	(void)seconds;
	return !interrupted;
}

json_t *
ctl_next_event(struct ctl *ctl)
{
	json_t *event = NULL;
	int err = client_next(ctl->client, awaiting_event, NULL, &event);

	if (err == 0 || err == -EINTR)
		return event;
	ctl_fail(ctl, EXIT_NO_DAEMON, "events: %s",
		err == -ECONNRESET ? "connection closed" : strerror(-err));
	client_close(ctl->client);
	ctl->client = NULL;
	return NULL;
}
