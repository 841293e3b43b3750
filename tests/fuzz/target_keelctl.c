/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A line as typed in the shell; the first octet selects the view. Invariants: help and completion
 * offer each word of a valid line, offered keywords are accepted, and an invalid line gets a
 * one-line error.
 */
#include "tests/fuzz/targets.h"

#include "control/cli/keelctl.h"

#define LINE_MAX_LEN 4096
#define ERROR_SIZE 640

static const unsigned views[] = {VIEW_USER, VIEW_SYSTEM, VIEW_BGP, VIEW_FAMILY, VIEW_VRF};

static void
error_is_a_line(const char *error)
{
	size_t len = strlen(error);

	HARNESS_CHECK(len > 0 && len < ERROR_SIZE);
}

static void
string(const char *text)
{
	if (text)
		harness_touch((const uint8_t *)text, strlen(text));
}

static void
command_touch(const struct command *c)
{
	json_t *params = command_params(c);

	HARNESS_CHECK(c->rule && c->count > 0 && c->count <= COMMAND_WORDS_MAX);
	for (unsigned i = 0; i < c->count; i++)
		string(c->word[i].text);
	string(c->family);
	string(c->phrase);
	json_decref(params);
}

/* Choices for the next word; with `all_follow`, checks that each offered keyword is accepted. */
static unsigned
choices(unsigned view, char **words, unsigned count, bool all_follow, bool *may_end)
{
	struct command_choice all[COMMAND_CHOICES_MAX], next[COMMAND_CHOICES_MAX];
	char error[ERROR_SIZE] = "", *longer[COMMAND_WORDS_MAX + 1];
	unsigned n = command_choices(view, words, count, all, error, sizeof(error));

	*may_end = false;
	HARNESS_CHECK(n <= COMMAND_CHOICES_MAX);
	if (n == 0)
		error_is_a_line(error);
	memcpy(longer, words, count * sizeof(*words));
	for (unsigned i = 0; i < n; i++) {
		if (!all[i].text) {
			*may_end = true;
			continue;
		}
		string(command_help(all[i].after, all[i].text));
		longer[count] = (char *)(uintptr_t)all[i].text;
		if (all_follow && !all[i].name && count + 1 < COMMAND_WORDS_MAX)
			HARNESS_CHECK(command_choices(view, longer, count + 1, next, error,
					      sizeof(error)) > 0);
	}
	return n;
}

static void
command(unsigned view, char **words, unsigned count)
{
	char error[ERROR_SIZE] = "";
	struct command c;
	int err = command_parse(view, words, count, &c, error, sizeof(error));
	bool may_end;

	if (err)
		error_is_a_line(error);
	else
		command_touch(&c);
	for (unsigned i = 0; i <= count; i++) {
		/* checked after one word only, because this is most of the work */
		bool all_follow = i == (uint8_t)words[0][0] % (count + 1);
		unsigned n = choices(view, words, i, all_follow, &may_end);

		HARNESS_CHECK(err || n > 0);
	}
	HARNESS_CHECK(err || may_end);
}

void
target_keelctl(const uint8_t *data, size_t len)
{
	char line[LINE_MAX_LEN], *at = line, *words[COMMAND_WORDS_MAX], error[ERROR_SIZE] = "";
	struct command c;
	unsigned view;
	int n;

	if (len == 0 || len > LINE_MAX_LEN)
		return;
	view = views[data[0] % (sizeof(views) / sizeof(views[0]))];
	memcpy(line, data + 1, len - 1);
	line[len - 1] = '\0';
	while (at) {
		n = command_split(&at, words, error, sizeof(error));
		HARNESS_CHECK(n <= COMMAND_WORDS_MAX);
		if (n > 0)
			command(view, words, (unsigned)n);
		if (n < 0) {
			error_is_a_line(error);
			break;
		}
	}
	memcpy(line, data + 1, len - 1);
	line[len - 1] = '\0';
	if (command_parse_line(view, line, &c, error, sizeof(error)) == 0)
		command_touch(&c);
}
