/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operator grammar (keelctl(1)): a table of templates (keelctl_grammar.c), from which the
 * parser, abbreviations, error messages, `?` help and completion are derived. Depends on libc only.
 * Single-threaded.
 */
#pragma once

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
};

enum command_kind {
	COMMAND_RPC,
	COMMAND_REFRESH,
	COMMAND_RESET,
	COMMAND_SHOW_BGP_SUMMARY,
	COMMAND_SHOW_BGP_PEER,
	COMMAND_SHOW_BGP_FAULTS,
	COMMAND_SHOW_ROUTE,
	COMMAND_SHOW_FATE,
	COMMAND_SHOW_CHANGES,
	COMMAND_SHOW_FIB_LOOKUP,
	COMMAND_SHOW_FIB_STATS,
	COMMAND_SHOW_DATAPLANE,
	COMMAND_SHOW_NEIGHBORS,
	COMMAND_SHOW_THREADS,
	COMMAND_SHOW_VERSION,
	COMMAND_SHOW_FORWARDER,
	COMMAND_SHOW_JOBS,
	COMMAND_SHOW_RIB,
	COMMAND_SHOW_VRF,
	COMMAND_SHOW_CONFIGURATION,
	COMMAND_SHOW_POLICY,
	COMMAND_SHOW_REFRESH,
	COMMAND_SHOW_HISTORY,
	COMMAND_SHOW_CANDIDATES,
	COMMAND_SHOW_RPKI,
	COMMAND_SHOW_BMP,
	COMMAND_SHOW_MRT,
	COMMAND_SHOW_AUDIT,
	COMMAND_SHOW_DIFF,
	COMMAND_TRACE,
	COMMAND_MONITOR,
	COMMAND_WATCH,
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
	COMMAND_RESOLVE,
	COMMAND_DISCARD,
	COMMAND_GROUP,
	COMMAND_PEER_AS_NUMBER,
	COMMAND_PEER_GROUP,
	COMMAND_PEER_ROUTE_REFRESH,
	COMMAND_PEER_ENABLE,
	COMMAND_PEER_KEEP_ALL_ROUTES,
	COMMAND_PEER_ROUTE_POLICY,
	COMMAND_PEER_SETTING,
	COMMAND_PEER_REMOVE,
	COMMAND_NETWORK,
	COMMAND_IMPORT_ROUTE,
	COMMAND_STATIC,
	/* from here to COMMAND_NODE: lists and route policies */
	COMMAND_LIST_ENTRY,
	COMMAND_LIST_REMOVE,
	COMMAND_POLICY_VIEW,
	COMMAND_POLICY_REMOVE,
	COMMAND_IF_MATCH,
	COMMAND_APPLY,
	COMMAND_NODE,
	COMMAND_SET,
	COMMAND_UNSET,
	COMMAND_DISPLAY_LINES,
	COMMAND_IMPORT,
	COMMAND_DOCTOR,
};

/*
 * A parsed line. Strings are words of the caller or constants; NULL if the command has no such
 * word.
 */
struct command {
	enum command_kind kind;
	unsigned wrong; /* after an error: number of the wrong word, from 1; 0: unknown */
	bool undo;
	const char *method, *params; /* for rpc */
	/* of a refresh, a reset, a route, a view; of show vrf and show bgp, NULL without a word */
	const char *family, *vrf;
	/*
	 * refresh, reset: no word names the family, and the address of the peer is IPv6: use
	 * ipv6-unicast if the peer does not have ipv4-unicast
	 */
	bool or_ipv6;
	const char *scope; /* refresh, reset: scope of bgp.refresh and bgp.reset */
	const char *group; /* refresh, reset; peer GROUP ... */
	unsigned asn; /* reset, bgp, as-number */
	const char *direction; /* refresh, route-policy */
	const char *peer; /* refresh, reset, show bgp peer, show route, peer ADDRESS ... */
	const char *name; /* a policy, or the group of a peer */
	/* show route: a prefix, an address, or neither; show fib: address */
	const char *prefix, *address;
	const char *rd; /* show route: route distinguisher */
	char prefix_text[64]; /* a prefix written as address and length or mask */
	const char *community, *regex; /* show route */
	bool longer, advertised, received;
	bool or_accepted; /* received: after the import policy where the peer is not kept */
	bool best, count, detail, terse, wait;
	const char *source; /* show configuration */
	const char *keep; /* resolve */
	const char *text; /* comment of a commit */
	const char *file; /* trace, import */
	const char *dialect; /* import */
	const char *watched; /* watch: a command */
	const char *setting; /* the last keyword of a setting of a peer; import-route: the source */
	const char *value; /* of a setting; set: JSON */
	const char *keepalive; /* with a hold time */
	const char *path; /* set: a JSON Pointer */
	bool this; /* display this */
	/* of lists and route policies: the keywords in full, without `undo`; the VALUES in order */
	char phrase[128];
	const char *list[COMMAND_WORDS_MAX];
	unsigned list_count;
	const char *action; /* permit, deny */
	const char *index, *ge, *le; /* of an entry */
	unsigned number; /* id of a commit; seconds to confirm, of a trace */
	bool numbered; /* the line has a number */
	bool force; /* commit, rollback */
	bool policy_files; /* commit, preview */
};

/*
 * One rule: words, VALUES, {a | b}, [a | b], and <a | b>: each of them at most once, in any order.
 * `word!` cannot be abbreviated; `VALUE...`: one or more.
 */
struct command_rule {
	unsigned views;
	enum command_kind kind;
	const char *text;
	bool undo; /* the line is also valid after `undo` */
	const char *help; /* sentences; `words` in backquotes */
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

/* True for the lines of lists and route policies. */
bool command_is_of_policy(const struct command *c);

/* A possible word at position `count` + 1. */
struct command_choice {
	/* a keyword; the name of a VALUE (ADDRESS); NULL: the line may end here */
	const char *text;
	bool value;
	const char *after; /* the preceding keyword; NULL at the start of the line */
};
#define COMMAND_CHOICES_MAX 128
/*
 * Lists the possible next words; returns the count. 0 with a message in `error` if an earlier word
 * is wrong or the line is complete.
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
