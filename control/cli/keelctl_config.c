/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands commit, confirm, rollback, discard, and show history, show diff. */
#include "control/cli/keelctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- effects ---- */

static enum colour
effect_colour(const char *effect)
{
	if (strcmp(effect, "session-reset") == 0 || strcmp(effect, "not-applied") == 0)
		return RED;
	return strcmp(effect, "none") == 0 ? PLAIN : GREEN;
}

void
effects_print(struct ctl *ctl, const json_t *effects)
{
	static const struct column columns[] = {{"Peer", false}, {"VRF", false}, {"Family", false},
		{"Direction", false}, {"Effect", false}, {"Job", true}, {"Reason", false}};
	struct table t = table_begin(columns, 7);
	const json_t *e;
	size_t i;

	if (json_array_size(effects) == 0) {
		puts("no session is affected");
		return;
	}
	json_array_foreach(effects, i, e)
	{
		const char *effect = text_of(e, "effect");

		table_cell(&t, PLAIN, "%s", text_of(e, "address"));
		table_cell(&t, PLAIN, "%s", text_of(e, "vrf"));
		table_cell(&t, PLAIN, "%s", text_of(e, "family"));
		table_cell(&t, PLAIN, "%s", text_of(e, "direction"));
		table_cell(&t, effect_colour(effect), "%s", effect);
		table_cell(&t, PLAIN, "%s", text_of(e, "job"));
		table_cell(&t, PLAIN, "%s", text_of(e, "reason"));
	}
	table_end(&t, ctl, 0);
}

/* Prints the result of config.commit and config.rollback. */
static void
commit_print(struct ctl *ctl, const json_t *result, unsigned confirm_s)
{
	bool changed = json_is_integer(json_object_get(result, "commit"));

	if (changed) {
		printf("commit %s, revision %s\n", text_of(result, "commit"),
			text_of(result, "revision"));
		effects_print(ctl, json_object_get(result, "effects"));
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

/* ---- commands ---- */

static json_t *
config_call(struct ctl *ctl, const struct command *c)
{
	switch (c->kind) {
	case COMMAND_COMMIT: {
		json_t *params = json_pack("{s:s*}", "comment", c->text);

		if (c->number > 0)
			json_object_set_new(params, "confirm_s", json_integer(c->number));
		return ctl_call(ctl, "config.commit", params);
	}
	case COMMAND_ROLLBACK:
		return ctl_call(
			ctl, "config.rollback", json_pack("{s:I}", "to", (json_int_t)c->number));
	case COMMAND_CONFIRM:
		return ctl_call(ctl, "config.confirm", NULL);
	case COMMAND_RELOAD:
		return ctl_call(ctl, "config.reload", NULL);
	default:
		return ctl_call(ctl, "config.discard", NULL);
	}
}

void
config_command(struct ctl *ctl, const struct command *c)
{
	json_t *result = config_call(ctl, c);

	if (result == NULL)
		return;
	if (ctl->json)
		ctl_print_json(result, false);
	else if (c->kind == COMMAND_RELOAD && json_is_null(json_object_get(result, "commit")))
		puts("the file has not changed");
	else if (c->kind == COMMAND_COMMIT || c->kind == COMMAND_ROLLBACK ||
		 c->kind == COMMAND_RELOAD)
		commit_print(ctl, result, c->kind == COMMAND_COMMIT ? c->number : 0);
	else
		puts(c->kind == COMMAND_CONFIRM
				? "confirmed"
				: "the candidate is the running configuration again");
	json_decref(result);
}

/* ---- shows ---- */

void
show_history(struct ctl *ctl, const json_t *result)
{
	static const struct column columns[] = {
		{"Commit", true}, {"Time", false}, {"Comment", false}};
	const json_t *commits = json_object_get(result, "commits"), *c,
		     *confirm = json_object_get(result, "confirm");
	struct table t = table_begin(columns, 3);
	char when[SHORT_TEXT];
	size_t i;

	json_array_foreach(commits, i, c)
	{
		table_cell(&t, PLAIN, "%s", text_of(c, "id"));
		table_cell(&t, PLAIN, "%s", time_text(real_of(c, "time"), "%F %T", when));
		table_cell(&t, PLAIN, "%s", text_of(c, "comment"));
	}
	if (t.cell_count > 0)
		table_end(&t, ctl, 0);
	else
		puts("no commits");
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
void
show_diff(struct ctl *ctl, const json_t *result)
{
	const json_t *diff = json_object_get(result, "diff"), *op;
	size_t i;

	if (json_array_size(diff) == 0)
		puts("the candidate has no edits");
	json_array_foreach(diff, i, op)
	{
		const char *what = text_of(op, "op");
		bool removed = strcmp(what, "remove") == 0, added = strcmp(what, "add") == 0;
		const json_t *old = json_array_get(json_object_get(result, "old"), i);

		print_colour(ctl,
			removed ? RED
			: added ? GREEN
				: YELLOW,
			removed ? "- "
			: added ? "+ "
				: "~ ");
		printf("%s ", text_of(op, "path"));
		if (!added && old != NULL)
			print_value(old);
		if (!added && !removed)
			fputs(" -> ", stdout);
		if (!removed)
			print_value(json_object_get(op, "value"));
		putchar('\n');
	}
}
