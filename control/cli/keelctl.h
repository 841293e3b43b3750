/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelctl(1), the second program: runs one command, a script, or a shell. Shared by keelctl*.c. One
 * thread; links no layer of keeld, only libc, jansson and libedit. Texts of the daemon may contain
 * words of a peer (RFC 9003): print such texts through text_safe() only.
 */
#pragma once

#include "control/cli/keelctl_parse.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Exit statuses; described by program_statuses[]. */
#define EXIT_DONE 0
#define EXIT_REFUSED 1
#define EXIT_USAGE 2
#define EXIT_NO_DAEMON 3

/* The end of a message that what the line names does not exist. */
#define NOT_THERE(ctl) ((ctl)->raw ? " (-32004)" : "")

/* ---- keelctl_client.c: JSON-RPC over the Unix socket, one value per line ---- */

struct client;

/* Called repeatedly during the wait for an answer; false cancels the call. */
typedef bool client_waiting(void *arg, double seconds);

int client_open(const char *path, struct client **out); /* 0, -errno */
void client_close(struct client *c);
/* The daemon has closed the connection. */
bool client_gone(const struct client *c);
/* Sends a request; takes `params` (NULL: no parameters). 0, -errno. */
int client_send(struct client *c, const char *method, json_t *params);
/*
 * Waits for the answer to the last request. 0 with the whole response in *answer (`result` or
 * `error`); -errno, -EPROTO; -EINTR: cancelled.
 */
int client_receive(struct client *c, client_waiting *waiting, void *arg, json_t **answer);

/*
 * Waits for the next notification; discards other values. 0 with the params of the notification,
 * which the caller owns; -EINTR: cancelled; -errno.
 */
int client_next(struct client *c, client_waiting *waiting, void *arg, json_t **params);

/* ---- keelctl_call.c ---- */

struct ctl {
	const char *socket;
	bool json; /* --json */
	bool terminal; /* standard output is a terminal */
	bool colour;
	struct client *client;
	bool was_connected; /* to a daemon that has since closed the connection */
	bool edited; /* the candidate held edits when the last prompt was printed */
	int status; /* exit status of the program */
	bool quiet; /* ctl_fail() sets only the status */
	bool script; /* commands come from standard input, or are joined by `;` */
	bool raw; /* errors have method, JSON Pointer and code: --json, rpc */
	bool read_only; /* connected to `<socket>.ro`: the user may not open `socket` */
	/* the commands as typed, and the copy that was split into words; NULL: words of the caller */
	const char *typed, *split;
	/* a progress line is visible; waited: the line is about a slow answer */
	bool progress, waited;
	char where[32]; /* prefix of messages: "keelctl: ", "line 3: " */
	char name[68]; /* of the router, in prompts; "": not known yet */

	/* the current view */
	enum command_view view;
	const char *family; /* in the view of a family */
	char vrf[64]; /* in the view of a VPN instance */
	char policy[64]; /* in the view of a node of a route policy */
	unsigned node;
	bool leave; /* after quit in the user view */
	bool secret; /* the last line may hold a password */
	char others[256]; /* the users with edits that the shell has named last */
	/* Asks for confirmation before sessions are reset; NULL: no confirmation. */
	bool (*ask)(struct ctl *ctl, const char *question);
};

/*
 * Calls a method; takes `params`. Returns the result, or NULL after printing the error to stderr
 * and setting ctl->status.
 */
json_t *ctl_call(struct ctl *ctl, const char *method, json_t *params);
/*
 * As ctl_call(), but an error of the daemon is in *error (a new reference; else NULL), without message
 * and status.
 */
json_t *ctl_ask(struct ctl *ctl, const char *method, json_t *params, json_t **error);
/*
 * The two halves of ctl_call(), so that the daemon works on the next answer while keelctl prints. False
 * after the message and the status.
 */
bool ctl_send(struct ctl *ctl, const char *method, json_t *params);
json_t *ctl_receive(struct ctl *ctl, const char *method);
/* Prints an error of the daemon, one line per fault, in the words of people unless `raw`; sets the status. */
void ctl_refused(struct ctl *ctl, const char *method, const json_t *error);
/* As ctl_call(), but without message and status. */
json_t *ctl_try(struct ctl *ctl, const char *method, json_t *params);
/* As ctl_try(), without parameters; gives up after 0.3 s. */
json_t *ctl_try_briefly(struct ctl *ctl, const char *method);
/* Always -1. */
int ctl_fail(struct ctl *ctl, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ctl_print_json(const json_t *value, bool indented);
/* Prints a result with --json as JSON, otherwise by `print` unless NULL; takes the result, which may be NULL. */
void ctl_result(
	struct ctl *ctl, json_t *result, void (*print)(struct ctl *ctl, const json_t *result));
/*
 * True after Ctrl-C, until ctl_interrupt_clear(). Ctrl-C cancels the current wait, not the shell.
 */
bool ctl_interrupted(void);
void ctl_interrupt_clear(void);
/* Also in a single command: Ctrl-C no longer ends keelctl, but ctl_interrupted() becomes true. */
void ctl_interrupt_catch(void);
/*
 * The params of the next event after `events.subscribe`. NULL after Ctrl-C or, with a message and
 * the status, when the connection is lost.
 */
json_t *ctl_next_event(struct ctl *ctl);
/* Prints a progress line on a terminal; the next call overwrites the line. */
void ctl_progress(struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ctl_progress_end(struct ctl *ctl);

/* Carries out a line; named and described by a row of the grammar. */
typedef void command_function(struct ctl *ctl, const struct command *c);

/* ---- keelctl_run.c: runs commands, single or in scripts ---- */

command_function rpc_command, help_command, watch_command, enter_system, enter_bgp, enter_family,
	enter_policy, remove_node, view_return, view_quit;
/* Calls the method of the rule with the VALUES of the line, and prints the answer by the rule. */
command_function show_answer;
/* The VALUES of the line by their names, and the address family where the rule wants one. */
json_t *command_params(const struct command *c);

/* Runs one command in the current view; sets ctl->status. */
void run_words(struct ctl *ctl, char *const *words, unsigned count);
/* Runs commands joined by `;` or newlines, up to the first error; modifies `text`. */
void run_text(struct ctl *ctl, char *text, const char *where);
void run_stdin(struct ctl *ctl);
/* True if the line may hold a password, which is overwritten then. */
bool has_secret(char *line);
bool secret_follows(const char *line); /* the last word announces a password */
void prompt_text(struct ctl *ctl, char *buf, size_t size);

/* ---- keelctl_output.c: filters of the output, and the pager ---- */

struct output {
	bool active, terminal, colour; /* the latter two: of the ctl before */
	int saved; /* the standard output before */
	pid_t child;
	void (*pipe_action)(int signal_number);
};
/*
 * Starts the filters of these words (`| include TEXT | count`), if any. False after a message. Pair with
 * output_end().
 */
bool output_begin(struct ctl *ctl, char *const *words, unsigned count, struct output *out);
/* Starts a pager on a terminal, unless there is a filter. */
void output_page(struct ctl *ctl, struct output *out);
#define WIDTH_LEAST 80
#define WIDTH_ANY 1000000000u /* lines are not broken */
/* Columns of a line: 80, or those of a wider terminal; WIDTH_ANY without a terminal. */
unsigned output_width(const struct ctl *ctl);
void output_end(struct ctl *ctl, struct output *out);

/* ---- keelctl_names.c: names known to the daemon ---- */

#define NAMES_MAX 4096
struct texts {
	char *text[NAMES_MAX];
	unsigned count;
};
/* Adds a copy of `text` if it begins with `begin` and is not in the list. */
void texts_add(struct texts *t, const char *text, const char *begin);
void texts_free(struct texts *t);
/* Adds the names for the VALUE of a choice that begin with `begin`; without a daemon no names. */
void value_names(
	struct ctl *ctl, struct texts *t, const struct command_choice *c, const char *begin);

/* ---- keelctl_help.c ---- */

struct program_option {
	const char *name, *value; /* value NULL: no argument */
	int letter; /* for getopt_long() */
	const char *help;
};
struct program_status {
	int status;
	const char *text;
};
/* Terminated by an entry with .name NULL and .text NULL. */
extern const struct program_option program_options[];
extern const struct program_status program_statuses[];

/* keelctl --help */
void help_print(void);
/* Prints the commands of a view. */
void help_view(unsigned view);
/*
 * keelctl --complete WORD...: prints the completions of the last word, one per line, each with a
 * tab and its help. For shells.
 */
void complete_print(struct ctl *ctl, char **words, unsigned count);

/* ---- keelctl_shell.c ---- */

void shell_run(struct ctl *ctl);

/* ---- keelctl_refresh.c: refresh, reset, preview ---- */

command_function refresh_command, reset_command, preview_command;
/* The parameters of bgp.refresh and bgp.reset for the peers of the line. */
json_t *peers_params(const struct command *c);

/* ---- keelctl_config.c: candidate and history ---- */

command_function commit_command, confirm_command, reload_command, rollback_command, resolve_command,
	discard_command;
void effects_print(struct ctl *ctl, const json_t *effects);
void show_history(struct ctl *ctl, const json_t *result);
void show_diff(struct ctl *ctl, const json_t *result);
void show_candidates(struct ctl *ctl, const json_t *result);
void show_audit(struct ctl *ctl, const json_t *result);
/* In the shell: names other users that hold edits, when they have changed since the last call. */
void config_note_others(struct ctl *ctl);

/* ---- keelctl_edit.c: lines of the BGP and family views edit the candidate ---- */

/* The state of one line. */
struct edit {
	struct ctl *ctl;
	const struct command *c;
	json_t *document; /* the candidate; modified in place */
	json_t *bgp; /* document["bgp"] */
	json_t *object; /* the peer or group of the line */
	const char *family;
	char note[256]; /* for the user, after the edit */
};
/* Of rules: apply the line. 0; -1 after a message. */
typedef int edit_function(struct edit *e);
edit_function set_asn, set_group, set_enable, set_policy, set_setting, remove_peer, edit_network,
	edit_import_route, edit_static, edit_group, remove_bgp;

command_function edit_command, edit_path;
/* Prints an error about the configuration. Always -1. */
int edit_refuse(struct edit *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* bgp N: false, after an error message, unless N is router.asn. */
bool edit_asn_agrees(struct ctl *ctl, unsigned asn);

/* A line that sets one key of a peer or group: set_setting() reads the line, setting() of keelctl_lines.c prints the line of a document. */
struct setting {
	const char *words; /* the keywords after `peer` */
	enum { SETS_TRUE, SETS_TEXT, SETS_NUMBER, SETS_ASN, SETS_POLICY, SETS_LIMIT } kind;
	const char *key;
	const char *
		home; /* the object with the key: NULL: the peer; "": its address family; else a member */
	bool on; /* true is the default: undo sets false */
	json_int_t number; /* without a word for it */
};
extern const struct setting settings[]; /* the last entry has no words */

/* Applies a line in the view of `ctl` to a document, without the daemon. */
bool edit_locally(struct ctl *ctl, const struct command *c, json_t *document);
/* RFC 6902 operations from `was` to `is`. */
json_t *edit_differences(json_t *was, json_t *is);

/* ---- keelctl_edit_policy.c: lines of lists and route policies ---- */

/* The word of a list in lines, the section, and the key for the value of an entry. */
struct policy_list_words {
	const char *word, *section, *key;
};
/* The values of a condition or a change. CHANGE: a number, also with + or -. */
enum policy_words_kind {
	WORDS_NAMES,
	WORDS_NUMBER,
	WORDS_CHANGE,
	WORDS_KEYWORD,
	WORDS_COMMUNITIES,
	WORDS_PATH,
	WORDS_NEXT_HOP
};
struct policy_words {
	const char *words, *key;
	enum policy_words_kind kind;
};
/* The last entry is NULL. `display` uses the first of two entries with equal keys. */
extern const struct policy_list_words policy_list_words[];
extern const struct policy_words policy_conditions[], policy_changes[];
/* {keyword, value in keel.json}, where they differ */
extern const char *const policy_values[][2];
/* The section of a line of lists. */
const char *list_section(const struct command *c);
edit_function add_entry, remove_entry, put_node, remove_policy, edit_member, edit_node;

/* ---- keelctl_place.c ---- */

/*
 * Names the place of a JSON Pointer in the words of lines. Elements of arrays have their names from
 * `elements` of config.diff, otherwise (NULL) their numbers. Returns printable text, as text_of(); `buf` is the space for it.
 */
const char *place_text(const json_t *elements, const char *path, char *buf, size_t size);

/* ---- keelctl_import.c ---- */

command_function import_command;

/* ---- keelctl_doctor.c ---- */

/* Prints what this machine lacks for ports and workers; status EXIT_REFUSED if a check fails. */
command_function doctor_command;

/* ---- keelctl_lines.c ---- */

/* display current-configuration, display this: a document as lines, by the table settings[] and by grammar of lists and policies */
command_function display_lines;

/* ---- keelctl_show.c, keelctl_route.c ---- */

command_function show_bgp_summary, show_bgp_peer, show_configuration, show_route;
typedef void answer_function(struct ctl *ctl, const json_t *result);
answer_function show_faults, show_fib_lookup, show_fib_stats, show_dataplane, show_threads,
	show_version, show_forwarder, show_jobs, show_rpki;

/* ---- keelctl_see.c ---- */

/* "policy NAME, node 20", "policy NAME, no node"; nothing without a policy. */
void print_policy_node(const json_t *o);
command_function show_fate, show_changes, trace_command, monitor_command;

/* ---- keelctl_policy.c ---- */

command_function show_policy, show_refresh;

/* ---- keelctl_text.c: formatted values and tables ---- */

enum colour { PLAIN, GREEN, YELLOW, RED, BOLD };

/* Collects cells, then prints them with the necessary widths. */
#define COLUMNS_MAX 16
struct table {
	char titles[192];
	unsigned char title[COLUMNS_MAX]; /* offsets in `titles` */
	bool right[COLUMNS_MAX];
	unsigned column_count, cell_count, cell_size;
	struct cell *cell;
};

/* `titles`: "Peer|VRF|>Routes", with `>` for a right-aligned column. */
struct table table_begin(const char *titles);
void table_cell(struct table *t, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A plain cell with text_of() for each of the keys, with blanks between them. */
void table_texts(struct table *t, const json_t *o, const char *keys);
/* GREEN of a good state, RED of a bad state, else YELLOW. */
enum colour state_colour(const char *state);
/*
 * Prints a row for each object of the array, or `none` (NULL: only the titles). `columns`:
 * "VRF=vrf|>Memory=use.octets:bytes": titles, as table_begin(); keys, with a point into objects; and formats: bytes, ns, date;
 * whole; state (coloured); warn, bad (coloured above 0; of an object the sum); another word: that member of the objects in an array.
 */
void list_print(struct ctl *ctl, const json_t *array, const char *columns, const char *none);
/* Prints and frees the table. `indent`: blanks before each line. */
void table_end(struct table *t, const struct ctl *ctl, unsigned indent);
/* As table_end(); without cells prints the text `none`. */
void table_end_or(struct table *t, const struct ctl *ctl, const char *none);
void print_colour(const struct ctl *ctl, enum colour colour, const char *text);
/* The first `len` octets. */
void print_part(const struct ctl *ctl, enum colour colour, const char *text, size_t len);

/*
 * Return a member of `o` as printable text: "-" if absent or null. The text is valid until the
 * fifth call from here.
 */
const char *text_of(const json_t *o, const char *key);
const char *value_text(const json_t *v); /* of one value, as text_of() */
/* A text as such, another value as JSON; printable. */
void print_scalar(const json_t *v);
const char *text_safe(const char *text);
/* A string of `o`, as long as `o`; "" if absent. */
const char *string_of(const json_t *o, const char *key);
/* The member of `o`; `fresh`, which is taken, if the member is absent. */
json_t *member_made(json_t *o, const char *key, json_t *fresh);
long long number_of(const json_t *o, const char *key);
double real_of(const json_t *o, const char *key);
bool true_of(const json_t *o, const char *key);
const char *yes_no(const json_t *o, const char *key);

#define SHORT_TEXT 32
/* Each fills and returns `buf`. */
#define PORT_TEXT 192
/* A port of an answer, as "east up, 10G full" or "east down: no carrier". */
const char *port_text(const json_t *port, char buf[PORT_TEXT]);
const char *duration_text(double seconds, char buf[SHORT_TEXT]);
const char *ns_text(double ns, char buf[SHORT_TEXT]);
const char *bytes_text(double bytes, char buf[SHORT_TEXT]);
const char *time_text(double seconds, const char *format, char buf[SHORT_TEXT]);

/* ---- keelctl_foreign.c: lines of FRR, BIRD and VRP ---- */

/* Writes the keelctl line for a line of another router; false: unknown. */
bool foreign_line(char *const *words, unsigned count, char *use, size_t size);
