/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelctl, the second program: one command a call (contract section 4). Shared by keelctl*.c; links no layer, only libc
 * and jansson. One thread. What comes from the daemon may hold words of a peer (RFC 9003), so people see it through
 * text_safe() only.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit status: contract section 1. */
#define EXIT_DONE 0
#define EXIT_REFUSED 1
#define EXIT_USAGE 2
#define EXIT_NO_DAEMON 3

#define NOT_SUPPORTED "not supported in this version"

/* ---- keelctl_parse.c: the operator grammar ---- */

enum command_kind {
	COMMAND_RPC,
	COMMAND_REFRESH,
	COMMAND_RESET,
	COMMAND_SHOW_BGP_SUMMARY,
	COMMAND_SHOW_BGP_PEER,
	COMMAND_SHOW_ROUTE,
	COMMAND_SHOW_FIB_LOOKUP,
	COMMAND_SHOW_FIB_STATS,
	COMMAND_SHOW_DATAPLANE,
	COMMAND_SHOW_NEIGHBORS,
	COMMAND_SHOW_VERSION,
	COMMAND_SHOW_JOBS,
	COMMAND_SHOW_RIB,
	COMMAND_SHOW_CONFIGURATION,
};

/* Strings are the caller's words or constants; NULL where the command has none. */
struct command {
	enum command_kind kind;
	const char *later; /* what of it this version does not do */
	const char *method, *params; /* rpc */
	const char *family, *vrf; /* of a refresh, a reset, a route */
	const char *scope, *group; /* refresh, reset: words of bgp.refresh and bgp.reset */
	unsigned asn; /* reset */
	const char *direction;
	const char *peer; /* refresh, reset, show bgp peer, show route */
	const char *prefix, *address; /* show route: one of them or none; show fib: address */
	bool longer, advertised;
	const char *source; /* show configuration */
};

/* 0, or -EINVAL with one line of text in `error`: which word, and what was expected. */
int command_parse(
	char *const *words, unsigned count, struct command *out, char *error, size_t size);
bool text_is_address(const char *text);
bool text_same_address(const char *a, const char *b);

/* ---- keelctl_client.c: JSON-RPC over the Unix socket, one value a line ---- */

struct client;

int client_open(const char *path, struct client **out); /* 0, -errno */
void client_close(struct client *c);
/* Takes `params` (NULL: none). 0 with *answer the whole response, which has `result` or `error`; -errno, -EPROTO. */
int client_call(struct client *c, const char *method, json_t *params, json_t **answer);

/* ---- keelctl.c ---- */

struct ctl {
	const char *socket;
	bool json; /* --json */
	bool terminal; /* standard output is one */
	bool colour;
	struct client *client;
	int status; /* what the program will exit with */
};

/* The result, or NULL after the fault was said on stderr and ctl->status was set. Takes `params`. */
json_t *ctl_call(struct ctl *ctl, const char *method, json_t *params);
void ctl_fail(struct ctl *ctl, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ctl_print_json(const json_t *value, bool indented);

/* ---- keelctl_show.c, keelctl_route.c ---- */

void show_command(struct ctl *ctl, const struct command *c);
void show_route(struct ctl *ctl, const struct command *c);

/* ---- keelctl_text.c: values and tables for people ---- */

enum colour { PLAIN, GREEN, YELLOW, RED, BOLD };

struct column {
	const char *title;
	bool right;
};

/* Cells are collected, then printed with the widths that they need. */
struct table {
	const struct column *column;
	unsigned column_count, cell_count, cell_size;
	struct cell *cell;
};

struct table table_begin(const struct column *column, unsigned column_count);
void table_cell(struct table *t, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints and frees. `indent` blanks before each line. */
void table_end(struct table *t, const struct ctl *ctl, unsigned indent);
void print_colour(const struct ctl *ctl, enum colour colour, const char *text);

/* Members of an object that people see: "-" when absent or null. The text is good until the fifth call after. */
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
