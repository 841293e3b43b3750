/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The help of keelctl: --help and `help` from the tables of options and lines, and completion for
 * shells.
 */
#include "control/cli/keelctl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 80

const struct program_option program_options[] = {
	{"socket", "PATH", 's',
		"Socket of the daemon. Default: $KEEL_SOCKET, then /run/keel/keel.sock. Without "
		"permission for it keelctl uses the read-only socket PATH.ro."},
	{"json", NULL, 'j', "Prints results as JSON, on one line."},
	{"complete", "WORD...", 'c',
		"Lists what the last WORD may become; for the completion of shells."},
	{"version", NULL, 'V', "Prints the version."},
	{"help", NULL, 'h', "Prints this help."},
	{0},
};

const struct program_status program_statuses[] = {
	{EXIT_DONE, "The command was carried out."},
	{EXIT_REFUSED, "The daemon refused the command, no peer could carry it out, or doctor "
		       "found a fault."},
	{EXIT_USAGE, "Bad usage: an unknown option or word, or faulty JSON."},
	{EXIT_NO_DAEMON, "No daemon can be reached at the socket."},
	{0},
};

/*
 * Prints words wrapped at WIDTH, without backquotes and the "!" and ":name" of the grammar. `at`: columns
 * used in the first line; other lines begin with `indent` blanks.
 */
static void
wrap(const char *text, unsigned indent, unsigned at)
{
	for (bool first = true; *text != '\0'; first = false) {
		size_t len = strcspn(text, " "), shown = 0;
		char word[128];

		for (size_t i = 0; i < len && shown < sizeof(word); i++) {
			if (text[i] == ':' && i > 0 && isupper((unsigned char)text[i - 1]) &&
				islower((unsigned char)text[i + 1]))
				i += strspn(text + i + 1, "abcdefghijklmnopqrstuvwxyz_");
			else if (text[i] != '`' && text[i] != '!')
				word[shown++] = text[i];
		}
		if (!first && at + 1 + shown > WIDTH) {
			putchar('\n');
			at = 0;
		} else if (!first) {
			putchar(' ');
			at++;
		}
		if (at == 0)
			at = (unsigned)printf("%*s", (int)indent, "");
		fwrite(word, 1, shown, stdout);
		at += (unsigned)shown;
		text += len + strspn(text + len, " ");
	}
	putchar('\n');
}

/* `display` is an alias of `show` in every line. */
static const char *
rule_text(const struct command_rule *r)
{
	static const char both[] = "{show | display} ";

	return strncmp(r->text, both, strlen(both)) == 0 ? r->text + strlen(both) : r->text;
}

static void
rules_print(unsigned views, unsigned without, bool undo)
{
	for (unsigned i = 0; i < command_rule_count; i++) {
		const struct command_rule *r = &command_rules[i];

		if (!(r->views & views) || (r->views & without) || (undo && !r->undo))
			continue;
		wrap(rule_text(r), 6,
			(unsigned)printf("  %s%s", undo ? "undo " : "",
				rule_text(r) != r->text ? "show " : ""));
		if (!undo)
			wrap(r->help, 10, 0);
	}
}

void
help_print(void)
{
	puts("usage: keelctl [--socket PATH] [--json] [COMMAND...]\n"
	     "\n"
	     "Runs one command. Without a command: a shell on a terminal, else the commands\n"
	     "of standard input, one per line. Several commands may be joined by \";\":\n"
	     "  keelctl 'system-view; bgp 64512; peer 192.0.2.2 keep-all-routes; commit'\n"
	     "\n"
	     "Options:");
	for (const struct program_option *o = program_options; o->name != NULL; o++) {
		unsigned n =
			(unsigned)printf("  --%s %s", o->name, o->value != NULL ? o->value : "");

		wrap(o->help, 24, n + (unsigned)printf("%*s", 24 - (int)n, ""));
	}
	puts("\nCommands ({a | b}: one of them; [a]: a or nothing; <a | b>: any of them, in any "
	     "order;\nwords may be abbreviated while they are unique; display is the same as "
	     "show):");
	rules_print(VIEW_USER, 0, false);
	puts("\nCommands of the configuration views (most also with `undo` in front):");
	rules_print(VIEW_CONFIG, VIEW_USER, false);
	puts("\nFilters of the output, after |:");
	rules_print(VIEW_FILTER, 0, false);
	puts("\nExit status:");
	for (const struct program_status *s = program_statuses; s->text != NULL; s++)
		wrap(s->text, 5, (unsigned)printf("  %d  ", s->status));
	puts("\nkeelctl(1) and keel-rpc(7) describe more.");
}

void
help_view(unsigned view)
{
	rules_print(view, 0, false);
	rules_print(view, 0, true);
	puts("{a | b}: one of them; [a]: a or nothing; <a | b>: any of them, in any order. Words "
	     "may be\nabbreviated while they are unique; display is the same as show.");
}

/* ---- completion ---- */

static void
complete_options(const char *begin)
{
	char name[64];

	for (const struct program_option *o = program_options; o->name != NULL; o++) {
		snprintf(name, sizeof(name), "--%s", o->name);
		if (strncmp(name, begin, strlen(begin)) == 0)
			printf("%s\t%s\n", name, o->help);
	}
}

static void
complete_value(struct ctl *ctl, const struct command_choice *c, const char *begin)
{
	static struct texts t;

	t.count = 0;
	value_names(ctl, &t, c, begin);
	for (unsigned i = 0; i < t.count; i++)
		printf("%s\t%s\n", t.text[i], command_help(c->after, c->text));
	texts_free(&t);
}

void
complete_print(struct ctl *ctl, char **words, unsigned count)
{
	struct command_choice choice[COMMAND_CHOICES_MAX];
	char error[256];
	const char *begin;
	unsigned n;

	/* The line may begin with options. */
	while (count > 1 && words[0][0] == '-') {
		bool value = strcmp(words[0], "--socket") == 0;

		if (value)
			ctl->socket = words[1];
		words += 1 + value;
		count = count > 1u + value ? count - 1 - value : 0;
	}
	if (count == 0 || count > COMMAND_WORDS_MAX)
		return;
	begin = words[count - 1];
	if (count == 1 && *begin == '-') {
		complete_options(begin);
		return;
	}
	n = command_choices(ctl->view, words, count - 1, choice, error, sizeof(error));
	for (unsigned i = 0; i < n; i++) {
		if (choice[i].text != NULL && choice[i].name == NULL && *choice[i].text != '|' &&
			strncmp(choice[i].text, begin, strlen(begin)) == 0)
			printf("%s\t%s\n", choice[i].text,
				command_help(choice[i].after, choice[i].text));
	}
	fflush(stdout);
	alarm(2); /* ends keelctl if the daemon does not answer; the keywords are already printed */
	for (unsigned i = 0; i < n; i++) {
		if (choice[i].text != NULL && choice[i].name != NULL)
			complete_value(ctl, &choice[i], begin);
	}
}
