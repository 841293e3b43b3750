/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operator grammar (keelctl(1)): a table of templates (keelctl_grammar.c), from which the
 * parser, abbreviations, error messages, `?` help and completion are derived. A row also names the function
 * for the line. Single-threaded.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define COMMAND_WORDS_MAX 80 /* 64 AS numbers of a line, and its keywords */

/* The view in which a line is typed; a rule belongs to one or more views. */
enum command_view {
	VIEW_USER = 1 << 0,
	VIEW_SYSTEM = 1 << 1,
	VIEW_BGP = 1 << 2,
	VIEW_FAMILY = 1 << 3, /* family of the default VRF, or vpnv4, vpnv6 */
	VIEW_VRF = 1 << 4, /* family of a VPN instance */
	VIEW_POLICY = 1 << 5, /* node of a route policy */
	VIEW_CONFIG = VIEW_SYSTEM | VIEW_BGP | VIEW_FAMILY | VIEW_VRF | VIEW_POLICY,
	VIEW_ANY = VIEW_USER | VIEW_CONFIG,
	VIEW_FILTER = 1 << 6, /* after `|` */
};

struct command_rule;

/*
 * A parsed line: its words in order, without `undo`. Strings are words of the caller, constants, or in the
 * command.
 */
struct command {
	const struct command_rule *rule;
	unsigned wrong; /* after an error: number of the wrong word, from 1; 0: unknown */
	bool undo;
	/*
	 * NULL without a word for the family, unless the rule wants a family. or_ipv6: no word, and
	 * the address of the peer is IPv6: use ipv6-unicast if the peer does not have ipv4-unicast.
	 */
	const char *family;
	bool or_ipv6;
	unsigned count;
	struct {
		const char *name; /* of a VALUE; NULL: a keyword */
		const char *text; /* a keyword in full */
	} word[COMMAND_WORDS_MAX];
	char prefix[64]; /* a prefix written as address and length or mask */
	char phrase[128]; /* the keywords */
};
/* A VALUE by name; NULL: absent. */
const char *arg(const struct command *c, const char *name);
/* The VALUE number `i`, from 0; NULL: absent. */
const char *arg_at(const struct command *c, unsigned i);
/* All VALUES, with blanks between; false: longer than `buf`. */
bool args_text(const struct command *c, char *buf, size_t size);
/* As a number; 0: absent, or too large. */
unsigned long long arg_number(const struct command *c, const char *name);
/* The first of the keywords ("import|export") in the line; NULL: absent. */
const char *keyword(const struct command *c, const char *keywords);
/* The AS number of the line; 0: absent. */
unsigned command_asn(const struct command *c);

struct ctl;
struct edit;

/*
 * One rule: words, VALUES, {a | b}, [a | b], and <a | b>: each of them at most once, in any order.
 * `word!` cannot be abbreviated; `VALUE...`: one or more; `VALUE:name`: named otherwise than by its kind.
 */
struct command_rule {
	unsigned views;
	void (*run)(struct ctl *ctl, const struct command *c);
	const char *text;
	bool undo; /* the line is also valid after `undo` */
	const char *help; /* sentences; `words` in backquotes */
	/* a line without a word for the address family gets one */
	enum { FAMILY_NO, FAMILY_OF_PEERS, FAMILY_OF_ROUTES } family;
	/* for show_answer(): the VALUES are the parameters */
	const char *method;
	void (*print)(struct ctl *ctl, const json_t *result);
	/* in place of `print`: of list_print(); `list`: the member with the array, "": the result */
	const char *list, *columns, *none;
	/* for edit_command(): 0; -1 after a message. The section that the line edits: NULL: `bgp`; "": of a list */
	int (*edit)(struct edit *e);
	const char *section;
	bool undo_short; /* after `undo` also valid without the last VALUE */
};

extern const struct command_rule command_rules[];
extern const unsigned command_rule_count;
/*
 * The help text of a word or VALUE of the grammar after the keyword `after` (NULL: the first word).
 */
const char *command_help(const char *after, const char *word);

/*
 * Parses a command. 0, or -EINVAL with a message in `error` that names the wrong word and the
 * expected words.
 */
int command_parse(unsigned view, char *const *words, unsigned count, struct command *out,
	char *error, size_t size);

/* A possible word at position `count` + 1. */
struct command_choice {
	/* a keyword; the kind of a VALUE (ADDRESS); NULL: the line may end here */
	const char *text;
	const char *name; /* of a VALUE; NULL: a keyword */
	const char *after; /* the preceding keyword; NULL at the start of the line */
};
#define COMMAND_CHOICES_MAX 128
/*
 * Lists the possible next words, also of filters after `|`; returns the count. 0 with a message in `error`
 * if an earlier word is wrong.
 */
unsigned command_choices(unsigned view, char *const *words, unsigned count,
	struct command_choice out[COMMAND_CHOICES_MAX], char *error, size_t size);

/*
 * Splits the first command of `*line` into words, in place. A command ends at a newline, a `;`, or
 * a `#` at the start of a word; *line moves to the next command, NULL at the end. "..." and '...'
 * may contain blanks; a word that begins with { is JSON up to the closing bracket, a word that begins with [ goes at least
 * so far. Returns the
 * count of words; -EINVAL for an unclosed quote, -E2BIG for too many words, each with a message in
 * `error`.
 */
int command_split(char **line, char *words[COMMAND_WORDS_MAX], char *error, size_t size);
/*
 * Parses a whole line of one view, like the shell. Modifies `line`; *out points into `line`. Parses
 * all commands joined by `;`; *out is the last. 0, or -EINVAL or -E2BIG with a message in `error`;
 * -ENODATA for an empty line.
 */
int command_parse_line(unsigned view, char *line, struct command *out, char *error, size_t size);

bool text_is_address(const char *text);
bool text_same_address(const char *a, const char *b);
/* Reads ADDRESS/LENGTH. AF_INET, AF_INET6; 0: no prefix. */
int text_prefix(const char *text, unsigned char bytes[16], unsigned *len);
