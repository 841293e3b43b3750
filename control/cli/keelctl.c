/* SPDX-License-Identifier: BSD-3-Clause */
/* keelctl: options and exit status. */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/keel/keel.sock"

/* The reader of standard output has ended (| head): not an error. */
static void
reader_gone(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_DONE);
}

#define OPTIONS_MAX 16

/* -1: continue; otherwise the exit status. */
static int
parse_options(int argc, char **argv, struct ctl *ctl)
{
	struct option options[OPTIONS_MAX] = {{0}};
	int c;

	for (unsigned i = 0; program_options[i].name != NULL && i + 1 < OPTIONS_MAX; i++)
		options[i] = (struct option){program_options[i].name,
			program_options[i].value != NULL && program_options[i].letter != 'c', NULL,
			program_options[i].letter};
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			ctl->socket = optarg;
			break;
		case 'j':
			ctl->json = ctl->raw = true;
			break;
		case 'c':
			complete_print(ctl, argv + optind, (unsigned)(argc - optind));
			return EXIT_DONE;
		case 'V':
			puts("keelctl " KEEL_VERSION);
			return EXIT_DONE;
		case 'h':
			help_print();
			return EXIT_DONE;
		default:
			fputs("keelctl: see keelctl --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	return -1;
}

static void
read_environment(struct ctl *ctl)
{
	const struct sigaction sa = {.sa_handler = reader_gone};
	const char *socket = getenv("KEEL_SOCKET"), *no_color = getenv("NO_COLOR"),
		   *term = getenv("TERM");

	sigaction(SIGPIPE, &sa, NULL);
	ctl->socket = socket != NULL && *socket != '\0' ? socket : DEFAULT_SOCKET;
	ctl->terminal = isatty(STDOUT_FILENO);
	ctl->colour = ctl->terminal && (no_color == NULL || *no_color == '\0') &&
		      (term == NULL || strcmp(term, "dumb") != 0);
}

/* Without a command: a shell on a terminal, otherwise a script on standard input. */
static void
run_input(struct ctl *ctl)
{
	if (!isatty(STDIN_FILENO)) {
		run_stdin(ctl);
		return;
	}
	ctl_interrupt_catch();
	/* the end of the terminal ends the input, so that the shell saves its history */
	signal(SIGHUP, SIG_IGN);
	shell_run(ctl);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {.status = EXIT_DONE, .view = VIEW_USER, .where = "keelctl: "};
	int status;

	read_environment(&ctl);
	status = parse_options(argc, argv, &ctl);
	if (status >= 0)
		return status;
	if (optind == argc)
		run_input(&ctl);
	else if (argc - optind == 1 && strpbrk(argv[optind], "; \t\n") != NULL)
		run_text(&ctl, argv[optind], "command");
	else
		run_words(&ctl, argv + optind, (unsigned)(argc - optind));
	client_close(ctl.client);
	if ((fflush(stdout) != 0 || ferror(stdout)) && ctl.status == EXIT_DONE)
		ctl_fail(&ctl, EXIT_REFUSED, "standard output: %s", strerror(errno));
	return ctl.status;
}
