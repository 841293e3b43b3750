/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operator grammar (keelctl(1)) as one table of templates, keelctl_grammar.c, and its reader: parser, abbreviations,
 * messages, `?` help and completion. Links only libc. Any one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define COMMAND_WORDS_MAX 24 /* more than the longest line of the grammar has */

/* The views in which a line is valid. */
enum command_view {
	VIEW_USER = 1 << 0,
	VIEW_SYSTEM = 1 << 1,
	VIEW_BGP = 1 << 2,
	VIEW_FAMILY = 1 << 3, /* of the default VRF, or vpnv4, vpnv6 */
	VIEW_VRF = 1 << 4, /* a family of a VPN instance */
	VIEW_CONFIG = VIEW_SYSTEM | VIEW_BGP | VIEW_FAMILY | VIEW_VRF,
	VIEW_ANY = VIEW_USER | VIEW_CONFIG,
};

enum command_kind {
	COMMAND_RPC,
	COMMAND_REFRESH,
	COMMAND_RESET,
	COMMAND_SHOW_BGP_SUMMARY,
	COMMAND_SHOW_BGP_PEER,
	COMMAND_SHOW_BGP_FAULTS,
	COMMAND_SHOW_ROUTE,
	COMMAND_SHOW_FIB_LOOKUP,
	COMMAND_SHOW_FIB_STATS,
	COMMAND_SHOW_DATAPLANE,
	COMMAND_SHOW_NEIGHBORS,
	COMMAND_SHOW_THREADS,
	COMMAND_SHOW_VERSION,
	COMMAND_SHOW_JOBS,
	COMMAND_SHOW_RIB,
	COMMAND_SHOW_CONFIGURATION,
	COMMAND_SHOW_POLICY,
	COMMAND_SHOW_REFRESH,
	COMMAND_SHOW_HISTORY,
	COMMAND_SHOW_DIFF,
	COMMAND_SYSTEM_VIEW,
	COMMAND_BGP_VIEW,
	COMMAND_FAMILY_VIEW,
	COMMAND_QUIT,
	COMMAND_RETURN,
	COMMAND_HELP,
	COMMAND_PREVIEW,
	COMMAND_PREVIEW_REFRESH,
	COMMAND_COMMIT,
	COMMAND_CONFIRM,
	COMMAND_RELOAD,
	COMMAND_ROLLBACK,
	COMMAND_DISCARD,
	COMMAND_GROUP,
	COMMAND_PEER_AS_NUMBER,
	COMMAND_PEER_GROUP,
	COMMAND_PEER_ROUTE_REFRESH,
	COMMAND_PEER_ENABLE,
	COMMAND_PEER_KEEP_ALL_ROUTES,
	COMMAND_PEER_ROUTE_POLICY,
};

/* A parsed line. Strings are the caller's words or constants; NULL when absent. */
struct command {
	enum command_kind kind;
	bool undo;
	const char *method, *params; /* rpc */
	const char *family, *vrf; /* of a refresh, a reset, a route, a view */
	bool or_ipv6; /* refresh, reset: no word named the family, and the peer's address is IPv6: ipv6-unicast where it has no ipv4-unicast */
	const char *scope; /* refresh, reset: words of bgp.refresh and bgp.reset */
	const char *group; /* refresh, reset; peer GROUP ... */
	unsigned asn; /* reset, bgp, as-number */
	const char *direction; /* refresh, route-policy */
	const char *peer; /* refresh, reset, show bgp peer, show route, peer ADDRESS ... */
	const char *name; /* a policy, or the group that a peer joins */
	const char *prefix, *address; /* show route: one of them or none; show fib: address */
	bool longer, advertised, received;
	const char *source; /* show configuration */
	const char *text; /* a comment */
	unsigned number; /* of a commit; seconds to confirm */
};

/* One rule: words, VALUES, {a | b}, [a | b], and <a | b>: any of them in any order, each once. `word!` is never abbreviated. */
struct command_rule {
	unsigned views;
	enum command_kind kind;
	const char *text;
	bool undo; /* `undo` and the same words is a line, too */
	const char *help; /* sentences, `words` in backquotes */
};

extern const struct command_rule command_rules[];
extern const unsigned command_rule_count;
/* The help for a word or a VALUE that follows the keyword `after` (NULL: the first word). */
const char *command_help(const char *after, const char *word);

/* 0, or -EINVAL with one line in `error` that names the word and what was expected. */
int command_parse(unsigned view, char *const *words, unsigned count, struct command *out,
	char *error, size_t size);

/* A possible word `count` + 1. */
struct command_choice {
	const char *text; /* a keyword, or the name of a value (ADDRESS); NULL: the line may end */
	bool value;
	const char *after; /* the keyword before it, NULL at the beginning */
};
#define COMMAND_CHOICES_MAX 64
/* The number of choices; 0 with text in `error` when a word is wrong or nothing may follow. */
unsigned command_choices(unsigned view, char *const *words, unsigned count,
	struct command_choice out[COMMAND_CHOICES_MAX], char *error, size_t size);

/*
 * Splits one command off `*line`, in place, up to a newline, a `;`, or a `#` that begins a word; *line moves behind it, to NULL at the end.
 * "..." and '...' hold blanks; what begins with { or [ is JSON and goes to its closing bracket. Returns the number of words; -EINVAL for an
 * unclosed quote, -E2BIG for too many words, both with text in `error`.
 */
int command_split(char **line, char *words[COMMAND_WORDS_MAX], char *error, size_t size);
/* A whole line in one view, as the shell reads it (changed in place; *out points into it). Commands joined by `;` are each parsed, the last is left in *out.
 * 0, -EINVAL or -E2BIG with text in `error`. An empty line is -ENODATA. */
int command_parse_line(unsigned view, char *line, struct command *out, char *error, size_t size);

bool text_is_address(const char *text);
bool text_same_address(const char *a, const char *b);
