/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters of the output of a command (`| include REGEX`), and the pager. A child process reads the
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

struct filter {
	regex_t regex;
	bool inverted, begins, counts;
};

const char *const output_filters[] = {"include", "exclude", "begin", "count", NULL};

/* False after a message. `words`: from the word after the bar. */
static bool
filter_read(struct ctl *ctl, char *const *words, unsigned count, struct filter *f)
{
	char error[128], text[512];
	unsigned which = 0;
	size_t at = 0;
	int err;

	while (count > 0 && output_filters[which] != NULL &&
		strncmp(output_filters[which], words[0], strlen(words[0])) != 0)
		which++;
	if (count < 2 || output_filters[which] == NULL || *words[0] == '\0') {
		ctl_fail(ctl, EXIT_USAGE,
			"expected include, exclude, begin or count, and a regular expression after "
			"\"|\"");
		return false;
	}
	for (unsigned i = 1; i < count && at < sizeof(text); i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at, "%s%s", i > 1 ? " " : "", words[i]);
	err = at < sizeof(text) ? regcomp(&f->regex, text, REG_EXTENDED | REG_NOSUB) : REG_ESPACE;
	if (err != 0) {
		regerror(err, &f->regex, error, sizeof(error));
		ctl_fail(ctl, EXIT_USAGE, "\"%.64s\" is not a regular expression: %s",
			text_safe(text), error);
		return false;
	}
	f->inverted = which == 1;
	f->begins = which == 2;
	f->counts = which == 3;
	return true;
}

/* The child: copies the selected lines of `in` to standard output. */
static void
filter_run(const struct filter *f, FILE *in)
{
	unsigned long long found = 0;
	bool begun = false;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, in)) >= 0) {
		bool newline = len > 0 && line[len - 1] == '\n', matches;

		line[newline ? len - 1 : len] = '\0';
		matches = begun || regexec(&f->regex, line, 0, NULL, 0) == 0;
		begun = f->begins && matches;
		found += matches;
		if (!f->counts && matches != f->inverted)
			puts(line);
	}
	if (f->counts)
		printf("%llu\n", found);
	free(line);
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
output_start(struct ctl *ctl, struct output *out, const struct filter *f, unsigned screen)
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

		close(ends[1]);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGINT, f != NULL ? SIG_DFL : pager_interrupted);
		in = f != NULL ? fdopen(ends[0], "r") : NULL;
		if (in != NULL)
			filter_run(f, in);
		else if (f == NULL)
			pager_run(ends[0], screen);
		fflush(stdout);
		_exit(0);
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
output_begin(struct ctl *ctl, char *const *filter, unsigned count, struct output *out)
{
	struct filter f = {.inverted = false};
	bool done;

	*out = (struct output){.saved = -1};
	if (count == 0)
		return true;
	if (!filter_read(ctl, filter + 1, count - 1, &f))
		return false;
	done = output_start(ctl, out, &f, 0);
	regfree(&f.regex);
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
	if (!out->active)
		return;
	fflush(stdout);
	dup2(out->saved, STDOUT_FILENO);
	close(out->saved);
	while (waitpid(out->child, NULL, 0) < 0 && errno == EINTR)
		;
	clearerr(stdout);
	signal(SIGPIPE, out->pipe_action);
	ctl->terminal = out->terminal;
	ctl->colour = out->colour;
	out->active = false;
}
