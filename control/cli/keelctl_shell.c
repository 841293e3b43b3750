/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shell: line editor of libedit, history in $HOME/.keel_history, `?` and Tab completion from
 * the grammar and the daemon.
 */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_LINES 1000

struct shell {
	struct ctl *ctl;
	EditLine *el;
	History *history;
	char prompt[256];
	char file[512]; /* of the history; "" without a home directory */
	bool secret_follows; /* the last line ended before a password */
};

static struct shell shell; /* callbacks of libedit have no context argument */

/* ---- cursor position ---- */

/* The command at the cursor: its complete words, and the start of the next word. */
struct place {
	char line[4096];
	char *words[COMMAND_WORDS_MAX];
	unsigned count; /* without `begin` */
	const char *begin; /* "" between words */
	struct command_choice choice[COMMAND_CHOICES_MAX];
	unsigned choices;
	char error[1024];
};

/* False where the line cannot be split: within a quote or JSON. */
static bool
place_read(struct place *p)
{
	const LineInfo *li = el_line(shell.el);
	size_t len = (size_t)(li->cursor - li->buffer);
	char *at = p->line;
	int n = 0;

	if (len >= sizeof(p->line))
		return false;
	memcpy(p->line, li->buffer, len);
	p->line[len] = '\0';
	do {
		n = command_split(&at, p->words, p->error, sizeof(p->error));
	} while (n >= 0 && at != NULL);
	if (n < 0)
		return false;
	p->count = (unsigned)n;
	p->begin = "";
	if (n > 0 && len > 0 && strchr(" \t", li->buffer[len - 1]) == NULL)
		p->begin = p->words[--p->count];
	p->choices = command_choices(
		shell.ctl->view, p->words, p->count, p->choice, p->error, sizeof(p->error));
	return true;
}

static bool
choice_fits(const struct place *p, const struct command_choice *c)
{
	return c->text != NULL &&
	       (c->name != NULL || strncmp(c->text, p->begin, strlen(p->begin)) == 0);
}

/* ---- ? ---- */

/* Prints the names for a VALUE, at most one line. */
static void
help_names(const struct command_choice *c, const char *begin)
{
	struct texts t = {.count = 0};
	unsigned column = 0;

	value_names(shell.ctl, &t, c, begin);
	for (unsigned i = 0; i < t.count && i < 12; i++) {
		if (column == 0)
			printf("      ");
		column += (unsigned)printf("%s%s", i > 0 ? " " : "", t.text[i]);
		if (column > 80 || i == 11) {
			printf("%s", i + 1 < t.count ? " ..." : "");
			break;
		}
	}
	if (t.count > 0)
		putchar('\n');
	texts_free(&t);
}

static void
help_at(const struct place *p)
{
	bool any = false, end = false;

	if (p->choices == 0 && *p->error != '\0')
		printf("  %s\n", text_safe(p->error));
	for (unsigned i = 0; i < p->choices; i++) {
		const struct command_choice *c = &p->choice[i];

		end |= c->text == NULL;
		if (!choice_fits(p, c))
			continue;
		printf("  %-22s %s\n", c->text, command_help(c->after, c->text));
		if (c->name != NULL)
			help_names(c, p->begin);
		any = true;
	}
	if (end && *p->begin == '\0')
		puts("  <cr>");
	else if (!any && p->choices > 0)
		printf("  no word begins with \"%s\" here\n", text_safe(p->begin));
}

static unsigned char
help_key(EditLine *el, int key)
{
	static struct place p;

	p = (struct place){.error = ""};
	if (!place_read(&p)) {
		char text[2] = {(char)key, '\0'};

		el_insertstr(el, text);
		return CC_REFRESH;
	}
	printf("?\n");
	help_at(&p);
	fflush(stdout);
	return CC_REDISPLAY;
}

/* ---- Tab ---- */

/*
 * Inserts the common continuation of all candidates; adds a blank if there is only one. False:
 * nothing to insert.
 */
static bool
complete_common(EditLine *el, const struct texts *t, const char *begin)
{
	size_t len = strlen(begin), common = strlen(t->text[0]);
	char more[600];

	for (unsigned i = 1; i < t->count; i++) {
		size_t n = 0;

		while (n < common && t->text[i][n] == t->text[0][n])
			n++;
		common = n;
	}
	if (common == len && t->count > 1)
		return false;
	snprintf(more, sizeof(more), "%.*s%s", (int)(common - len), t->text[0] + len,
		t->count == 1 ? " " : "");
	return el_insertstr(el, more) == 0;
}

static void
complete_list(const struct texts *t)
{
	struct winsize ws = {0};
	unsigned width = 0, columns, window = 80;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 20)
		window = ws.ws_col;
	for (unsigned i = 0; i < t->count; i++)
		width = strlen(t->text[i]) > width ? (unsigned)strlen(t->text[i]) : width;
	columns = window / (width + 2) > 0 ? window / (width + 2) : 1;
	putchar('\n');
	for (unsigned i = 0; i < t->count; i++)
		printf("%-*s%s", (int)width + 2, t->text[i],
			i % columns + 1 == columns || i + 1 == t->count ? "\n" : "");
	fflush(stdout);
}

static unsigned char
complete_key(EditLine *el, int key)
{
	static struct place p;
	struct texts t = {.count = 0};
	unsigned char result = CC_REFRESH;

	(void)key;
	p = (struct place){.error = ""};
	if (!place_read(&p))
		return CC_REFRESH_BEEP;
	for (unsigned i = 0; i < p.choices; i++) {
		if (choice_fits(&p, &p.choice[i]) && p.choice[i].name != NULL)
			value_names(shell.ctl, &t, &p.choice[i], p.begin);
		else if (choice_fits(&p, &p.choice[i]) && *p.choice[i].text != '|')
			texts_add(&t, p.choice[i].text, p.begin);
	}
	if (t.count == 0) {
		result = CC_REFRESH_BEEP;
	} else if (!complete_common(el, &t, p.begin)) {
		complete_list(&t);
		result = CC_REDISPLAY;
	}
	texts_free(&t);
	return result;
}

/* ---- history ---- */

/* Readable by the owner only. */
static void
history_file(void)
{
	const char *home = getenv("HOME");
	int fd;

	if (home == NULL || *home == '\0')
		return;
	snprintf(shell.file, sizeof(shell.file), "%s/.keel_history", home);
	fd = open(shell.file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		shell.file[0] = '\0';
		return;
	}
	fchmod(fd, 0600);
	close(fd);
}

static void
history_open(void)
{
	HistEvent event;

	shell.history = history_init();
	if (shell.history == NULL)
		return;
	history(shell.history, &event, H_SETSIZE, HISTORY_LINES);
	history(shell.history, &event, H_SETUNIQUE, 1);
	history_file();
	if (*shell.file != '\0')
		history(shell.history, &event, H_LOAD, shell.file);
	/* of a version that kept passwords */
	for (int more = history(shell.history, &event, H_LAST); more >= 0;) {
		char *line = strdup(event.str);
		int number = event.num;

		more = history(shell.history, &event, H_PREV);
		if (has_secret(line)) {
			HistEvent deleted = {0};

			history(shell.history, &deleted, H_DEL, number);
			free((char *)(uintptr_t)deleted.str); /* a copy */
		}
		free(line);
	}
}

static void
history_close(void)
{
	HistEvent event;
	mode_t mask;

	if (shell.history == NULL)
		return;
	mask = umask(0077);
	if (*shell.file != '\0')
		history(shell.history, &event, H_SAVE, shell.file);
	umask(mask);
	history_end(shell.history);
}

/* ---- lines ---- */

static char *
prompt(EditLine *el)
{
	(void)el;
	return shell.prompt;
}

/*
 * SIGINT is unblocked only during the wait for a key, so that no SIGINT is lost between check and
 * wait.
 */
static sigset_t outside;

/* Reads one character, like the default function of libedit: 1, 0 at the end, -1. */
static int
read_key(EditLine *el, wchar_t *key)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	mbstate_t state = {0};
	size_t n;

	(void)el;
	do {
		char byte;
		ssize_t got;

		if (ppoll(&p, 1, NULL, &outside) < 0)
			return -1;
		got = read(STDIN_FILENO, &byte, 1);
		if (got <= 0)
			return got < 0 ? -1 : 0;
		n = mbrtowc(key, &byte, 1, &state);
	} while (n == (size_t)-2);
	if (n == (size_t)-1)
		*key = L'?';
	return 1;
}

static const char *
edit_line(int *n)
{
	const char *line;
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, &outside);
	line = el_gets(shell.el, n);
	sigprocmask(SIG_SETMASK, &outside, NULL);
	return line;
}

/* Reads a line. NULL: *end is true at the end of input, false after Ctrl-C. */
static const char *
read_line(const char *text, bool *end)
{
	const char *line;
	int n = 0;

	snprintf(shell.prompt, sizeof(shell.prompt), "%s%s", text,
		text[strlen(text) - 1] == ' ' ? "" : " ");
	ctl_interrupt_clear();
	el_resize(shell.el); /* the size of the window may have changed */
	/* before the prompt: keys typed early are not echoed twice */
	el_set(shell.el, EL_PREP_TERM, 1);
	line = edit_line(&n);
	*end = false;
	if (line != NULL && n > 0)
		return line;
	*end = !ctl_interrupted();
	putchar('\n');
	el_reset(shell.el);
	return NULL;
}

static bool
ask(struct ctl *ctl, const char *question)
{
	const char *line;
	bool end;

	(void)ctl;
	do {
		line = read_line(question, &end);
		if (line != NULL && (*line == 'y' || *line == 'Y'))
			return true;
		if (line != NULL && (*line == 'n' || *line == 'N'))
			return false;
	} while (line != NULL);
	return false;
}

static void
run_line(const char *line)
{
	HistEvent event;
	char *text = strdup(line), *entered = strdup(line); /* `line` is gone after a question */

	shell.ctl->status = EXIT_DONE;
	shell.ctl->secret = line[strspn(line, " \t\r\n")] == '\0' || shell.secret_follows;
	shell.secret_follows = secret_follows(line); /* of two pasted lines */
	shell.ctl->where[0] = '\0';
	ctl_interrupt_clear();
	if (text != NULL && entered != NULL)
		run_text(shell.ctl, text, NULL);
	if (!shell.ctl->secret && shell.history != NULL && entered != NULL)
		history(shell.history, &event, H_ENTER, entered);
	ctl_progress_end(shell.ctl);
	fflush(stdout);
	free(entered);
	free(text);
}

/* The candidate stays in the daemon: print a note about uncommitted edits. */
static void
print_leave_note(void)
{
	char text[256];

	shell.ctl->view = VIEW_SYSTEM;
	prompt_text(shell.ctl, text, sizeof(text));
	if (text[1] == '*')
		puts("the candidate holds edits that are not committed");
}

void
shell_run(struct ctl *ctl)
{
	char text[256];
	bool end = false;

	setlocale(LC_CTYPE, ""); /* input may be UTF-8 */
	shell = (struct shell){.ctl = ctl, .el = el_init("keelctl", stdin, stdout, stderr)};
	if (shell.el == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "cannot start the line editor: %s", strerror(errno));
		return;
	}
	ctl->ask = ask;
	ctl->where[0] = '\0';
	history_open();
	el_set(shell.el, EL_PROMPT, prompt);
	el_set(shell.el, EL_EDITOR, "emacs");
	el_set(shell.el, EL_GETCFN, read_key);
	if (shell.history != NULL)
		el_set(shell.el, EL_HIST, history, shell.history);
	el_set(shell.el, EL_ADDFN, "keel-help", "list what may follow", help_key);
	el_set(shell.el, EL_ADDFN, "keel-complete", "complete a word", complete_key);
	el_set(shell.el, EL_BIND, "?", "keel-help", NULL);
	el_set(shell.el, EL_BIND, "^I", "keel-complete", NULL);
	el_set(shell.el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_source(shell.el, NULL);
	while (!end && !ctl->leave) {
		const char *line;

		if (ctl->view != VIEW_USER)
			config_note_others(ctl);
		prompt_text(ctl, text, sizeof(text));
		line = read_line(text, &end);
		if (line != NULL)
			run_line(line);
	}
	print_leave_note();
	history_close();
	el_end(shell.el);
	ctl->status = EXIT_DONE;
}
