/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters of the output of a command (`| include TEXT`), and the pager. A child process reads the
 * output through a pipe, line by line, so that a full table takes no memory.
 */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- filters ---- */

/* `| include A | count`: each line passes one after the other. */
#define FILTERS_MAX 4
struct filters {
	unsigned count;
	struct filter {
		bool exclude, begin, count;
		bool all, begun; /* all: count without a text */
		unsigned long long found;
		regex_t regex;
	} filter[FILTERS_MAX];
};

/* Reads the words from after a bar to the next. Returns their count; 0 after a message. */
static unsigned
filter_read(struct ctl *ctl, char *const *words, unsigned count, struct filter *f)
{
	char error[640], text[512];
	struct command c;
	unsigned n = 0;
	int err;

	while (n < count && strcmp(words[n], "|") != 0)
		n++;
	if (command_parse(VIEW_FILTER, words, n, &c, error, sizeof(error)) != 0) {
		ctl_fail(ctl, EXIT_USAGE, "after \"|\": %s", text_safe(error));
		return 0;
	}
	*f = (struct filter){.exclude = keyword(&c, "exclude") != NULL,
		.begin = keyword(&c, "begin") != NULL,
		.count = keyword(&c, "count") != NULL,
		.all = arg_at(&c, 0) == NULL};
	err = args_text(&c, text, sizeof(text)) ? regcomp(&f->regex, text, REG_EXTENDED | REG_NOSUB)
						: REG_ESPACE;
	if (err == 0)
		return n;
	regerror(err, &f->regex, error, sizeof(error));
	ctl_fail(ctl, EXIT_USAGE, "\"%.64s\" is not a regular expression: %s", text_safe(text),
		error);
	return 0;
}

static bool
filter_keeps(struct filter *f, const char *line)
{
	bool matches = f->all || f->begun || regexec(&f->regex, line, 0, NULL, 0) == 0;

	f->begun = f->begin && matches;
	f->found += matches;
	return !f->count && matches != f->exclude;
}

/* The child: copies the selected lines of `in` to standard output. 0, errno. */
static int
filters_run(struct filters *f, FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	unsigned i;
	ssize_t len;

	while ((len = getline(&line, &size, in)) >= 0) {
		line[line[len - 1] == '\n' ? len - 1 : len] = '\0';
		for (i = 0; i < f->count && filter_keeps(&f->filter[i], line);)
			i++;
		if (i == f->count)
			puts(line);
	}
	for (i = 0; i < f->count; i++) {
		if (f->filter[i].count)
			printf("%llu\n", f->filter[i].found);
	}
	free(line);
	if (fflush(stdout) == 0 && !ferror(stdout) && feof(in))
		return 0;
	return errno != 0 ? errno : EIO;
}

/* ---- the pager ---- */

static struct termios pager_was;
static volatile sig_atomic_t pager_asks; /* the terminal is in the mode of a question */

/* Ctrl-C while the pager prints ends the output. */
static void
pager_interrupted(int signal_number)
{
	(void)signal_number;
	if (pager_asks)
		tcsetattr(STDIN_FILENO, TCSANOW, &pager_was);
	_exit(0);
}

/* Waits for a key. Returns the lines to print next; 0: end the output. */
static unsigned
pager_ask(unsigned screen)
{
	static const char text[] = "-- more: space, Enter, q --", erase[] = "\r\033[K";
	struct termios raw;
	char key = 'q';
	ssize_t n;

	if (tcgetattr(STDIN_FILENO, &pager_was) != 0)
		return 0;
	raw = pager_was;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG); /* Ctrl-C is a key, too */
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	pager_asks = 1;
	/* before the text: whoever sees the text may type */
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	n = write(STDOUT_FILENO, text, sizeof(text) - 1);
	n = read(STDIN_FILENO, &key, 1);
	tcsetattr(STDIN_FILENO, TCSANOW, &pager_was);
	pager_asks = 0;
	if (write(STDOUT_FILENO, erase, sizeof(erase) - 1) < 0 || n <= 0)
		return 0;
	return key == '\n' || key == '\r' ? 1 : key == 'q' || key == 'Q' || key == 3 ? 0 : screen;
}

static bool
write_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* The child: copies `in`, and waits for a key after each screen. */
static void
pager_run(int in, unsigned screen)
{
	char part[4096];
	unsigned left = screen;
	ssize_t n;

	while ((n = read(in, part, sizeof(part))) > 0) {
		size_t from = 0;

		for (size_t i = 0; i < (size_t)n; i++) {
			if (left == 0) {
				if (!write_all(part + from, i - from))
					return;
				from = i;
				left = pager_ask(screen);
				if (left == 0)
					return;
			}
			left -= part[i] == '\n';
		}
		if (!write_all(part + from, (size_t)n - from))
			return;
	}
}

#define WIDTH_MOST 500

unsigned
output_width(const struct ctl *ctl)
{
	struct winsize ws = {0};

	if (!ctl->terminal)
		return WIDTH_ANY;
	/* standard output may be the pipe to the pager */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) != 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) != 0)
		return WIDTH_LEAST;
	return ws.ws_col < WIDTH_LEAST	? WIDTH_LEAST
	       : ws.ws_col > WIDTH_MOST ? WIDTH_MOST
					: ws.ws_col;
}

/* Lines of a screen; 0: no pager. */
static unsigned
pager_lines(const struct ctl *ctl)
{
	struct winsize ws = {0};

	if (!ctl->terminal || ctl->script || ctl->json || !isatty(STDIN_FILENO) ||
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) != 0 || ws.ws_row < 3)
		return 0;
	return ws.ws_row - 1u;
}

/* ---- the pipe ---- */

/* Starts the child, and redirects standard output into the pipe. False after a message. */
static bool
output_start(struct ctl *ctl, struct output *out, struct filters *f, unsigned screen)
{
	int ends[2];

	fflush(stdout);
	if (pipe(ends) != 0) {
		ctl_fail(ctl, EXIT_REFUSED, "cannot filter the output: %s", strerror(errno));
		return false;
	}
	out->child = fork();
	if (out->child == 0) {
		FILE *in;
		int err = 0;

		close(ends[1]);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGINT, f != NULL ? SIG_DFL : pager_interrupted);
		in = f != NULL ? fdopen(ends[0], "r") : NULL;
		if (f == NULL)
			pager_run(ends[0], screen);
		else
			err = in != NULL ? filters_run(f, in) : errno;
		_exit(err);
	}
	out->saved = out->child > 0 ? dup(STDOUT_FILENO) : -1;
	if (out->saved < 0 || dup2(ends[1], STDOUT_FILENO) < 0)
		ctl_fail(ctl, EXIT_REFUSED, "cannot filter the output: %s", strerror(errno));
	close(ends[0]);
	close(ends[1]);
	out->active = ctl->status == EXIT_DONE;
	if (out->active) {
		/* an early end of the child ends the output, not keelctl */
		out->pipe_action = signal(SIGPIPE, SIG_IGN);
		out->terminal = ctl->terminal;
		ctl->terminal &= f == NULL;
		out->colour = ctl->colour;
		ctl->colour &= f == NULL;
	}
	return out->active;
}

bool
output_begin(struct ctl *ctl, char *const *words, unsigned count, struct output *out)
{
	struct filters f = {.count = 0};
	bool done = true;

	*out = (struct output){.saved = -1};
	for (unsigned at = 0, n = 0; done && at < count; at += 1 + n) {
		n = filter_read(ctl, words + at + 1, count - at - 1, &f.filter[f.count]);
		done = n > 0;
		f.count += done;
		if (f.count == FILTERS_MAX && at + 1 + n < count) {
			ctl_fail(ctl, EXIT_USAGE, "more than %d filters", FILTERS_MAX);
			done = false;
		}
	}
	if (done && f.count > 0)
		done = output_start(ctl, out, &f, 0);
	while (f.count > 0)
		regfree(&f.filter[--f.count].regex);
	return done;
}

void
output_page(struct ctl *ctl, struct output *out)
{
	unsigned screen = pager_lines(ctl);

	if (!out->active && screen > 0)
		(void)output_start(ctl, out, NULL, screen);
}

void
output_end(struct ctl *ctl, struct output *out)
{
	int status = 0, sig;

	if (!out->active)
		return;
	fflush(stdout);
	dup2(out->saved, STDOUT_FILENO);
	close(out->saved);
	while (waitpid(out->child, &status, 0) < 0 && errno == EINTR)
		;
	clearerr(stdout);
	signal(SIGPIPE, out->pipe_action);
	ctl->terminal = out->terminal;
	ctl->colour = out->colour;
	out->active = false;
	sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (status != 0 && sig != SIGPIPE && sig != SIGINT)
		ctl_fail(ctl, ctl->status != EXIT_DONE ? ctl->status : EXIT_REFUSED,
			"standard output: %s",
			sig != 0 ? strsignal(sig) : strerror(WEXITSTATUS(status)));
}
