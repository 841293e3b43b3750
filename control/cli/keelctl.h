/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelctl(1), the client: one command, a script, or the shell. Shared by keelctl*.c, which link only libc, jansson and libedit. One thread.
 * Answers of the daemon may hold text of a peer (RFC 9003), so they are printed through text_safe().
 */
#pragma once

#include "control/cli/keelctl_parse.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit status; program_statuses[] describes them. */
#define EXIT_DONE 0
#define EXIT_REFUSED 1
#define EXIT_USAGE 2
#define EXIT_NO_DAEMON 3

/* ---- keelctl_client.c: JSON-RPC over the Unix socket, one value a line ---- */

struct client;

/* Called repeatedly during the wait for an answer; false ends the wait. */
typedef bool client_waiting(void *arg, double seconds);

int client_open(const char *path, struct client **out); /* 0, -errno */
void client_close(struct client *c);
/* True when the daemon has closed the connection. */
bool client_gone(const struct client *c);
/* Takes over `params` (NULL: none). 0 with *answer the whole response, which has `result` or `error`; -errno; -EPROTO; -EINTR: `waiting` ended the wait. */
int client_call(struct client *c, const char *method, json_t *params, client_waiting *waiting,
	void *arg, json_t **answer);

/* ---- keelctl.c ---- */

struct ctl {
	const char *socket;
	bool json; /* --json */
	bool terminal; /* standard output is a terminal */
	bool colour;
	struct client *client;
	bool was_connected; /* earlier; the daemon may be gone */
	int status; /* exit status of the program */
	bool script; /* commands of standard input, or joined by `;` */
	bool read_only; /* connected to `<socket>.ro`: the user has no right to open `socket` */
	bool progress, waited; /* a progress line stands there; it is the one about a slow answer */
	char where[32]; /* begins messages: "keelctl: ", "line 3: " */

	/* the view */
	enum command_view view;
	const char *family; /* of a family view */
	char vrf[64]; /* of a VPN instance's */
	bool leave; /* quit in the user view */
	/* Asks before what ends sessions; NULL: act at once. */
	bool (*ask)(struct ctl *ctl, const char *question);
};

/* Calls a method; takes over `params`. NULL after a message on stderr, with ctl->status set. */
json_t *ctl_call(struct ctl *ctl, const char *method, json_t *params);
/* As ctl_call(), without message and status. */
json_t *ctl_try(struct ctl *ctl, const char *method, json_t *params);
void ctl_fail(struct ctl *ctl, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ctl_print_json(const json_t *value, bool indented);
/* True when Ctrl-C was pressed since the last ctl_interrupt_clear(). Ctrl-C ends a wait, not the shell. */
bool ctl_interrupted(void);
void ctl_interrupt_clear(void);
/* Prints a progress line on a terminal, which the next call overwrites. */
void ctl_progress(struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ctl_progress_end(struct ctl *ctl);

/* ---- keelctl_run.c: commands, alone and in scripts ---- */

void command_run(struct ctl *ctl, const struct command *c);
/* Runs one command in the current view; the result is in ctl->status. */
void run_words(struct ctl *ctl, char *const *words, unsigned count);
/* Runs commands joined by `;` or newlines up to the first error; changes `text`. */
void run_text(struct ctl *ctl, char *text, const char *where);
void run_stdin(struct ctl *ctl);
void prompt_text(struct ctl *ctl, char *buf, size_t size);

/* ---- keelctl_names.c: names that the daemon knows ---- */

#define NAMES_MAX 4096
struct texts {
	char *text[NAMES_MAX];
	unsigned count;
};
/* Adds a copy of `text` if it begins with `begin` and is new. */
void texts_add(struct texts *t, const char *text, const char *begin);
void texts_free(struct texts *t);
/* Adds the names for the VALUE of a choice that begin with `begin`; none without a daemon. */
void value_names(
	struct ctl *ctl, struct texts *t, const struct command_choice *c, const char *begin);

/* ---- keelctl_help.c ---- */

struct program_option {
	const char *name, *value; /* value NULL: takes none */
	int letter; /* getopt_long()'s */
	const char *help;
};
struct program_status {
	int status;
	const char *text;
};
/* End with .name NULL and .text NULL. */
extern const struct program_option program_options[];
extern const struct program_status program_statuses[];

/* keelctl --help */
void help_print(void);
/* The commands of a view. */
void help_view(unsigned view);
/* keelctl --complete WORD...: what the last word may become, one a line, a tab and its help behind. For the completion of shells. */
void complete_print(struct ctl *ctl, char **words, unsigned count);

/* ---- keelctl_shell.c ---- */

void shell_run(struct ctl *ctl);

/* ---- keelctl_refresh.c: refresh, reset, preview ---- */

void refresh_command(struct ctl *ctl, const struct command *c);
void reset_command(struct ctl *ctl, const struct command *c);
void preview_command(struct ctl *ctl, const struct command *c);

/* ---- keelctl_config.c: candidate and history ---- */

void config_command(struct ctl *ctl, const struct command *c);
void effects_print(struct ctl *ctl, const json_t *effects);
void show_history(struct ctl *ctl, const json_t *result);
void show_diff(struct ctl *ctl, const json_t *result);

/* ---- keelctl_edit.c: lines of the BGP and family views become edits of the candidate ---- */

void edit_command(struct ctl *ctl, const struct command *c);
/* bgp N: false after a message when router.asn is not N. */
bool edit_asn_agrees(struct ctl *ctl, unsigned asn);

/* ---- keelctl_show.c, keelctl_route.c ---- */

void show_command(struct ctl *ctl, const struct command *c);
void show_route(struct ctl *ctl, const struct command *c);
void show_jobs(struct ctl *ctl, const json_t *result);

/* ---- keelctl_policy.c ---- */

void show_policy(struct ctl *ctl, const struct command *c);
void show_refresh(struct ctl *ctl);

/* ---- keelctl_text.c: values and tables for people ---- */

enum colour { PLAIN, GREEN, YELLOW, RED, BOLD };

struct column {
	const char *title;
	bool right;
};

/* Collects cells and prints them in columns of the needed width. */
struct table {
	const struct column *column;
	unsigned column_count, cell_count, cell_size;
	struct cell *cell;
};

struct table table_begin(const struct column *column, unsigned column_count);
void table_cell(struct table *t, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints the table after `indent` blanks, and frees it. */
void table_end(struct table *t, const struct ctl *ctl, unsigned indent);
void print_colour(const struct ctl *ctl, enum colour colour, const char *text);

/* A member of an object as text: "-" when absent or null. The text is valid until the fifth following call. */
const char *text_of(const json_t *o, const char *key);
const char *text_safe(const char *text);
long long number_of(const json_t *o, const char *key);
double real_of(const json_t *o, const char *key);
bool true_of(const json_t *o, const char *key);
const char *yes_no(const json_t *o, const char *key);

#define SHORT_TEXT 32
/* Each fills `buf` and returns it. */
const char *duration_text(double seconds, char buf[SHORT_TEXT]);
const char *ns_text(double ns, char buf[SHORT_TEXT]);
const char *bytes_text(double bytes, char buf[SHORT_TEXT]);
const char *time_text(double seconds, const char *format, char buf[SHORT_TEXT]);
