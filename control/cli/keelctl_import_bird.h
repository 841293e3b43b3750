/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of the BIRD dialect: tokens, verdicts of lines, constants, and the
 * translation of filters (keelctl_import_bird_filter.c).
 */
#pragma once

#include "control/cli/keelctl_import.h"

enum bird_kind { BIRD_END, BIRD_SYMBOL, BIRD_NUMBER, BIRD_ADDRESS, BIRD_TEXT, BIRD_PUNCT };

#define BIRD_ONE_ROA_TABLE "keeld has one table of ROAs, the file has more"
#define BIRD_NO_NUMBER (-1) /* of more than 32 bits: BIRD refuses the file */

struct bird_token {
	enum bird_kind kind;
	unsigned line;
	json_int_t number; /* or BIRD_NO_NUMBER */
	char *text; /* punctuation, too */
};

/* Tokens from `at` up to, and without, `end`. */
struct bird_range {
	unsigned at, end;
};

struct bird_definition {
	const char *name;
	struct bird_range value, parameters; /* of a function: the body, with braces */
	struct bird_range header; /* of a function or filter: declarations before the body */
	enum { BIRD_CONSTANT, BIRD_FUNCTION, BIRD_FILTER, BIRD_ROA4, BIRD_ROA6, BIRD_STATIC } kind;
	bool used;
	bool exports; /* a channel has the filter for exports */
	struct bird_definition *next;
};

struct bird_line {
	char *text;
	char *place; /* FILE:NUMBER of an included file; NULL: the number of the file itself */
	unsigned number;
	bool included; /* an include whose files were read */
	bool has_tokens;
	char verdict[160];
};

struct bird {
	struct import *im;
	struct bird_token *token;
	unsigned token_count, at, end; /* `at`: the next token */
	struct bird_line *line; /* from 1 */
	unsigned line_count;
	struct bird_definition *definitions;
	json_t *pool; /* values that live until the end */
	unsigned static_count;
	bool has_direct;
	bool originates; /* static or connected routes, which have no BGP attributes */
	unsigned roa_tables[2]; /* of IPv4, IPv6 */
	bool roa_cached[2]; /* a cache of such a table is carried */
	unsigned unnamed; /* protocols without a name */
};

/* ---- keelctl_import_bird_read.c ---- */

/* Adds the lines of a file, and of the files that it includes. `depth`: files around it. */
void bird_read_lines(struct bird *b, FILE *in, const char *path, unsigned depth);
/* Splits all lines into tokens. */
void bird_tokens(struct bird *b);
/* Sets the verdict of a line, unless the line has a stronger one. */
void bird_note(struct bird *b, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The present token; an end token beyond the end. */
const struct bird_token *bird_peek(const struct bird *b, unsigned ahead);
bool bird_is(const struct bird *b, const char *text);
/* Takes the token if it is `text`. */
bool bird_take(struct bird *b, const char *text);
/* Takes tokens up to the matching closing bracket; the present token is the opening one. */
void bird_skip_brackets(struct bird *b);
struct bird_definition *bird_find(struct bird *b, const char *name);
/* Owned by the pool. */
json_t *bird_keep(struct bird *b, json_t *value);
/* Takes tokens up to the end of the statement: `;`, or a block. */
void bird_skip(struct bird *b);
/* The statement from the token `at` is not carried, or changed. Takes the statement. */
void bird_whole(struct bird *b, unsigned at, const char *verdict);
/* Takes these words, or nothing. */
bool bird_take_words(struct bird *b, const char *words);
/* Takes on, off, or nothing, which is on. */
bool bird_take_switch(struct bird *b);
/* Takes a number, also by the name of a constant. */
bool bird_take_number(struct bird *b, json_int_t *out);
/* Takes a number from `low` to `high`, which keeld accepts. */
bool bird_take_within(struct bird *b, json_int_t low, json_int_t high, json_int_t *out);
bool bird_take_address(struct bird *b, const char **out);
/* A prefix without bits behind its length. */
bool bird_take_prefix(struct bird *b, char *out, size_t size);
/* Sets an id; false: keeld refuses the address. */
bool bird_set_id(struct bird *b, json_t *o, const char *key, const char *address);
/* Takes a number of an AS. */
bool bird_take_asn(struct bird *b, json_int_t *out);
/* Takes a statement of a protocol without an effect on routes. */
bool bird_no_route(struct bird *b);
/* The name of keel.json for a policy, a group or a neighbour; notes a changed name. */
const char *bird_policy_name(struct bird *b, const char *name, unsigned line, char buf[64]);

/* ---- keelctl_import_bird_bgp.c ---- */

/* After `bgp` of a protocol or a template. */
void bird_bgp(struct bird *b, bool template, unsigned line);
/* What is known of neighbours at the end of the file: next hops, reflection. */
void bird_finish_peers(struct bird *b);

/* ---- keelctl_import_bird_filter.c ---- */

/*
 * Translates the statements of a filter to a route policy. `header`: declarations before the body;
 * `body`: with braces. `where`: an expression instead. `exports`: for routes to a neighbour.
 */
void bird_filter(struct bird *b, const char *name, struct bird_range header, struct bird_range body,
	bool where, bool exports);
