/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands commit, confirm, rollback, resolve, discard, and show history, diff, candidates. */
#include "control/cli/keelctl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- effects ---- */

void
effects_print(struct ctl *ctl, const json_t *effects)
{
	list_print(ctl, effects,
		"Peer=address|VRF=vrf|Family=family|Direction=direction|Effect=effect:state|>Job="
		"job|"
		"Reason=reason",
		"no session is affected");
}

/* Prints the result of config.commit and config.rollback. */
static void
commit_print(struct ctl *ctl, const json_t *result, unsigned confirm_s)
{
	bool changed = json_is_integer(json_object_get(result, "commit"));
	const json_t *path;
	char place[512];
	size_t i;

	if (changed) {
		printf("commit %s, revision %s\n", text_of(result, "commit"),
			text_of(result, "revision"));
		effects_print(ctl, json_object_get(result, "effects"));
		json_array_foreach(json_object_get(result, "restart_required"), i, path)
			printf("%s: saved; keeld goes on with the old value until its restart\n",
				place_text(NULL, json_string_value(path), place, sizeof(place)));
	} else {
		printf("nothing to commit: the candidate is the running configuration, revision "
		       "%s\n",
			text_of(result, "revision"));
	}
	if (json_is_integer(json_object_get(result, "confirmed")))
		printf("confirmed: %s\n", text_of(result, "confirmed"));
	if (json_is_false(json_object_get(result, "persisted"))) {
		print_colour(ctl, RED, "not written to the file on disk");
		puts(": see the log of the daemon");
	}
	if (confirm_s > 0 && changed)
		printf("rolled back in %u s unless confirmed; `confirm` keeps it\n", confirm_s);
}

#define PUBLISHED_MAX 100 /* lines */

static void diff_lines(struct ctl *ctl, const json_t *result, size_t max);

/* True if the text of a policy file in force has changed. */
static bool
file_changed(const json_t *file)
{
	return json_is_true(json_object_get(file, "changed"));
}

/* Names the policy files with a different text on disk. */
static void
files_left_print(struct ctl *ctl, const json_t *of)
{
	const json_t *file;
	size_t i;

	json_array_foreach(json_object_get(of, "policy_files"), i, file)
	{
		if (file_changed(file) || !json_is_false(json_object_get(file, "on_disk")))
			continue;
		print_colour(ctl, YELLOW, "not taken");
		printf(": policy file %s differs on disk; `commit policy-files` takes it\n",
			text_of(file, "path"));
	}
}

/*
 * Prints what a commit has published. `diff`: of config.diff, just before; NULL for a rollback and a
 * reload. `result`: of the commit.
 */
static void
published_print(struct ctl *ctl, const json_t *diff, const json_t *result)
{
	const json_t *files = json_object_get(result, "policy_files"), *file;
	size_t count = json_array_size(json_object_get(diff, "diff")), i, changed = 0;

	json_array_foreach(files, i, file) changed += file_changed(file);
	if (count + changed > 0)
		puts("published:");
	diff_lines(ctl, diff, PUBLISHED_MAX);
	if (count > PUBLISHED_MAX)
		printf("and %zu more; `show history ID` lists all\n", count - PUBLISHED_MAX);
	json_array_foreach(files, i, file)
	{
		if (!file_changed(file))
			continue;
		print_colour(ctl, YELLOW, "~ ");
		printf("policy file %s", text_of(file, "path"));
		puts(json_is_true(json_object_get(file, "on_disk"))
				? ""
				: ": the text of the history; the file on disk differs and stays");
	}
	files_left_print(ctl, result);
}

/* ---- commands ---- */

#define CODE_NEEDS_FORCE (-32007)

/* Asks on a terminal, also outside of the shell. */
static bool
agreed(struct ctl *ctl, const char *question)
{
	char line[16];

	if (ctl->ask != NULL)
		return ctl->ask(ctl, question);
	fputs(question, stdout);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) != NULL && (*line == 'y' || *line == 'Y');
}

/* Lists the sessions that the commit would end, and asks. */
static bool
ends_agreed(struct ctl *ctl, const json_t *error)
{
	const json_t *sessions = json_object_get(json_object_get(error, "data"), "sessions"), *s;
	size_t i, n = json_array_size(sessions);
	char question[96];

	json_array_foreach(sessions, i, s) printf("the session with %s of VRF %s would end: %s\n",
		text_of(s, "address"), text_of(s, "vrf"), text_of(s, "reason"));
	snprintf(question, sizeof(question), "Commit and end %zu session%s? [y/n] ", n,
		n == 1 ? "" : "s");
	if (agreed(ctl, question))
		return true;
	puts("nothing was committed");
	return false;
}

/*
 * Calls config.commit or config.rollback, which may end sessions: asks on a terminal, elsewhere only
 * with `force`. Takes `params`.
 */
static json_t *
call_with_force(struct ctl *ctl, const struct command *c, const char *method, json_t *params)
{
	bool terminal = ctl->terminal && !ctl->script && !ctl->json && isatty(STDIN_FILENO);
	json_t *error, *result;

	json_object_set_new(params, "force", json_boolean(keyword(c, "force")));
	result = ctl_ask(ctl, method, json_incref(params), &error);
	/* sessions that came up meanwhile are asked for, too */
	while (number_of(error, "code") == CODE_NEEDS_FORCE && terminal) {
		bool yes = ends_agreed(ctl, error);

		json_object_set(params, "sessions",
			json_object_get(json_object_get(error, "data"), "sessions"));
		json_decref(error);
		error = NULL;
		if (!yes)
			break;
		result = ctl_ask(ctl, method, json_incref(params), &error);
	}
	if (error != NULL) {
		ctl_refused(ctl, method, error);
		if (number_of(error, "code") == CODE_NEEDS_FORCE)
			ctl_fail(ctl, EXIT_REFUSED, "nothing was committed; `%s force` ends them",
				keyword(c, "commit") != NULL ? "commit" : "rollback ID");
		if (!ctl->json)
			files_left_print(ctl, json_object_get(error, "data"));
	}
	json_decref(error);
	json_decref(params);
	return result;
}

/*
 * Prints the change by a command: `text`, unless NULL, else the result of a commit. Takes `result`, which may
 * be NULL, and `diff`, of config.diff just before.
 */
static void
changed_print(struct ctl *ctl, json_t *result, json_t *diff, const char *text, unsigned confirm_s)
{
	if (result != NULL && ctl->json) {
		ctl_print_json(result, false);
	} else if (result != NULL) {
		if (text != NULL)
			puts(text);
		else
			commit_print(ctl, result, confirm_s);
		published_print(ctl, diff, result);
	}
	json_decref(diff);
	json_decref(result);
}

void
commit_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = json_pack("{s:s*}", "comment", arg(c, "text")),
	       *diff = ctl->json ? NULL : ctl_try(ctl, "config.diff", NULL);

	if (arg(c, "seconds") != NULL)
		json_object_set_new(
			params, "confirm_s", json_integer((json_int_t)arg_number(c, "seconds")));
	if (keyword(c, "policy-files") != NULL)
		json_object_set_new(params, "policy_files", json_true());
	if (diff != NULL)
		json_object_set(params, "if_revision", json_object_get(diff, "revision"));
	changed_print(ctl, call_with_force(ctl, c, "config.commit", params), diff, NULL,
		(unsigned)arg_number(c, "seconds"));
}

void
rollback_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = json_pack("{s:I}", "to", (json_int_t)arg_number(c, "id"));

	changed_print(ctl, call_with_force(ctl, c, "config.rollback", params), NULL, NULL, 0);
}

void
reload_command(struct ctl *ctl, const struct command *c)
{
	json_t *result = ctl_call(ctl, "config.reload", NULL);

	(void)c;
	changed_print(ctl, result, NULL,
		json_is_null(json_object_get(result, "commit")) ? "the file has not changed" : NULL,
		0);
}

void
confirm_command(struct ctl *ctl, const struct command *c)
{
	(void)c;
	changed_print(ctl, ctl_call(ctl, "config.confirm", NULL), NULL, "confirmed", 0);
}

void
resolve_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = json_pack("{s:s}", "keep", keyword(c, "mine|theirs"));

	changed_print(ctl, ctl_call(ctl, "config.resolve", params), NULL,
		"no conflicts; `show diff` shows what a commit would change", 0);
}

void
discard_command(struct ctl *ctl, const struct command *c)
{
	(void)c;
	changed_print(ctl, ctl_call(ctl, "config.discard", NULL), NULL,
		"the candidate is the running configuration again", 0);
}

/* ---- shows ---- */

/* The length of the line at `text`, of `left` octets, with its newline. */
static size_t
line_len(const char *text, size_t left)
{
	const char *end = memchr(text, '\n', left);

	return end != NULL ? (size_t)(end - text) + 1 : left;
}

static void
text_part(struct ctl *ctl, enum colour colour, const char *mark, const char *text, size_t left)
{
	while (left > 0) {
		size_t len = line_len(text, left);
		char *line = strndup(text, text[len - 1] == '\n' ? len - 1 : len);

		print_colour(ctl, colour, mark);
		puts(text_safe(line));
		free(line);
		text += len;
		left -= len;
	}
}

/* Prints the lines between the equal first lines and the equal last lines. */
static void
text_lines(struct ctl *ctl, const json_t *file)
{
	const char *old = json_string_value(json_object_get(file, "old")),
		   *new = json_string_value(json_object_get(file, "new"));
	size_t was = old != NULL ? strlen(old) : 0, is = new != NULL ? strlen(new) : 0, len;

	while (was > 0 && is > 0) {
		len = line_len(old, was);
		if (len != line_len(new, is) || memcmp(old, new, len) != 0)
			break;
		old += len;
		new += len;
		was -= len;
		is -= len;
	}
	/* back to the start of the last line that differs */
	for (len = 0; len < was && len < is && old[was - 1 - len] == new[is - 1 - len];)
		len++;
	while (len > 0 && ((was > len && old[was - len - 1] != '\n') ||
				  (is > len && new[is - len - 1] != '\n')))
		len--;
	text_part(ctl, RED, "  - ", old, was - len);
	text_part(ctl, GREEN, "  + ", new, is - len);
}

static void
history_one(struct ctl *ctl, const json_t *result)
{
	const json_t *file;
	size_t i;
	const json_t *c = json_array_get(json_object_get(result, "commits"), 0);
	char when[SHORT_TEXT];

	printf("commit %s by %s, %s", text_of(c, "id"), text_of(c, "user"),
		time_text(real_of(c, "time"), "%F %T", when));
	printf(": %s\n", text_of(c, "comment"));
	if (json_array_size(json_object_get(result, "diff")) == 0)
		puts("the document is that of the commit before");
	else
		diff_lines(ctl, result, SIZE_MAX);
	json_array_foreach(json_object_get(result, "policy_files"), i, file)
	{
		print_colour(ctl, YELLOW, "~ ");
		printf("policy file %s\n", text_of(file, "path"));
		text_lines(ctl, file);
	}
}

void
show_history(struct ctl *ctl, const json_t *result)
{
	const json_t *confirm = json_object_get(result, "confirm");

	if (json_object_get(result, "before") != NULL) {
		history_one(ctl, result);
		return;
	}
	list_print(ctl, json_object_get(result, "commits"),
		">Commit=id|Time=time:date|User=user|Comment=comment", "no commits");
	if (json_is_object(confirm))
		printf("commit %s goes back to %s in %.0f s unless confirmed; `confirm` keeps it\n",
			text_of(confirm, "commit"), text_of(confirm, "back_to"),
			real_of(confirm, "remaining_s"));
}

static void
print_value(const json_t *value)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
}

/* One line per difference: + added, - removed, ~ old and new value. */
static void
diff_lines(struct ctl *ctl, const json_t *result, size_t max)
{
	const json_t *diff = json_object_get(result, "diff"), *op;
	char place[512];
	size_t i;

	json_array_foreach(diff, i, op)
	{
		const char *what = string_of(op, "op");
		bool removed = strcmp(what, "remove") == 0, added = strcmp(what, "add") == 0;
		const json_t *old = json_array_get(json_object_get(result, "old"), i),
			     *value = removed ? old : json_object_get(op, "value"),
			     *named = json_array_get(json_object_get(result, "elements"), i);
		json_t *last = json_array_get(named, json_array_size(named) - 1);

		if (i == max)
			return;
		/* the entries of a whole list say what list it is */
		if (json_is_object(last) && json_is_object(value))
			json_object_update_missing(last, (json_t *)(uintptr_t)value);
		print_colour(ctl,
			removed ? RED
			: added ? GREEN
				: YELLOW,
			removed ? "- "
			: added ? "+ "
				: "~ ");
		printf("%s ", place_text(named, string_of(op, "path"), place, sizeof(place)));
		if (!added && old != NULL)
			print_value(old);
		if (!added && !removed)
			fputs(" -> ", stdout);
		if (!removed)
			print_value(json_object_get(op, "value"));
		putchar('\n');
	}
}

void
show_diff(struct ctl *ctl, const json_t *result)
{
	const json_t *conflict, *file;
	size_t i;

	if (json_array_size(json_object_get(result, "diff")) == 0)
		puts("the candidate has no edits");
	diff_lines(ctl, result, SIZE_MAX);
	json_array_foreach(json_object_get(result, "policy_files"), i, file)
	{
		if (file_changed(file))
			print_colour(ctl, YELLOW, "~ ");
		printf("policy file %s%s\n", text_of(file, "path"),
			file_changed(file) ? ", changed on disk"
					   : " differs on disk; `commit policy-files` takes it");
		text_lines(ctl, file);
	}
	json_array_foreach(json_object_get(result, "conflicts"), i, conflict)
	{
		print_colour(ctl, RED, "! ");
		printf("%s: changed by %s in commit %s, running ", text_of(conflict, "object"),
			text_of(conflict, "user"), text_of(conflict, "commit"));
		print_value(json_object_get(conflict, "running"));
		putchar('\n');
	}
	if (i > 0)
		puts("`resolve mine` keeps these edits, `resolve theirs` drops them");
}

void
show_candidates(struct ctl *ctl, const json_t *result)
{
	const json_t *c;
	struct table t = table_begin("User|Since|>Edits|>Conflicts");
	char when[SHORT_TEXT];
	size_t i;

	json_array_foreach(json_object_get(result, "candidates"), i, c)
	{
		bool you = strcmp(text_of(c, "user"), text_of(result, "you")) == 0;

		table_cell(&t, PLAIN, "%s%s", text_of(c, "user"), you ? " (you)" : "");
		table_cell(&t, PLAIN, "%s", time_text(real_of(c, "since"), "%F %T", when));
		table_cell(&t, PLAIN, "%s", text_of(c, "edits"));
		table_cell(&t, number_of(c, "conflicts") > 0 ? RED : PLAIN, "%s",
			text_of(c, "conflicts"));
	}
	table_end_or(&t, ctl, "no user has edits");
}

/* "commit 7", "refused: REASON", "done" */
static void
audit_result(struct table *t, const json_t *call)
{
	const json_t *error = json_object_get(call, "error"),
		     *commit = json_object_get(json_object_get(call, "result"), "commit");

	if (error != NULL)
		table_cell(t, RED, "refused: %s", text_of(error, "reason"));
	else if (json_is_integer(commit))
		table_cell(t, PLAIN, "commit %lld", (long long)json_integer_value(commit));
	else
		table_cell(t, PLAIN, "done");
}

void
show_audit(struct ctl *ctl, const json_t *result)
{
	const json_t *calls = json_object_get(result, "calls");
	struct table t = table_begin(">Id|Time|User|From|Method|Result");
	char when[SHORT_TEXT];

	for (size_t i = json_array_size(calls); i-- > 0;) {
		const json_t *c = json_array_get(calls, i);

		table_cell(&t, PLAIN, "%s", text_of(c, "id"));
		table_cell(&t, PLAIN, "%s", time_text(real_of(c, "time"), "%m-%d %T", when));
		table_texts(&t, c, "user from method");
		audit_result(&t, c);
	}
	table_end_or(&t, ctl, "no calls");
}

void
config_note_others(struct ctl *ctl)
{
	json_t *result = ctl_try(ctl, "config.candidates", NULL);
	const json_t *c;
	char others[sizeof(ctl->others)] = "";
	size_t i, at = 0;

	json_array_foreach(json_object_get(result, "candidates"), i, c)
	{
		if (strcmp(text_of(c, "user"), text_of(result, "you")) != 0 && at < sizeof(others))
			at += (size_t)snprintf(others + at, sizeof(others) - at, "%s%s",
				at > 0 ? ", " : "", text_of(c, "user"));
	}
	json_decref(result);
	if (strcmp(others, ctl->others) == 0)
		return;
	snprintf(ctl->others, sizeof(ctl->others), "%s", others);
	if (*others != '\0')
		printf("note: %s also holds edits that are not committed; see `show candidates`\n",
			others);
}
