/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a command, or a script of commands, in the current view. */
#include "control/cli/keelctl.h"

#include <ctype.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <wchar.h>

/* ---- rpc ---- */

static json_t *
read_params(struct ctl *ctl, const char *text)
{
	bool from_stdin = strcmp(text, "-") == 0;
	json_error_t error;
	json_t *params = from_stdin ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
				    : json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (params == NULL) {
		char *near = strstr(error.text, " near "); /* perhaps a password */

		if (near != NULL)
			*near = '\0';
		ctl_fail(ctl, EXIT_USAGE,
			"the parameters are not a JSON object: line %d, column %d: %s", error.line,
			error.column, text_safe(error.text));
	}
	return params;
}

void
rpc_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = NULL, *result;

	if (arg(c, "params") != NULL) {
		params = read_params(ctl, arg(c, "params"));
		if (params == NULL)
			return;
	}
	ctl->raw = true;
	result = ctl_call(ctl, arg(c, "method"), params);
	ctl->raw = ctl->json;
	if (result != NULL)
		ctl_print_json(result, ctl->terminal && !ctl->json);
	json_decref(result);
}

json_t *
command_params(const struct command *c)
{
	json_t *params = json_object();

	for (unsigned i = 0; i < c->count; i++) {
		const char *name = c->word[i].name;

		if (name == NULL)
			continue;
		json_object_set_new(params, name,
			strcmp(name, "asn") == 0 ? json_integer(command_asn(c))
			: strcmp(name, "id") == 0 || strcmp(name, "seconds") == 0
				? json_integer((json_int_t)arg_number(c, name))
				: json_string(c->word[i].text));
	}
	if (c->rule->family != FAMILY_NO)
		json_object_set_new(params, "family", json_string(c->family));
	return params;
}

void
show_answer(struct ctl *ctl, const struct command *c)
{
	const struct command_rule *r = c->rule;
	json_t *result = ctl_call(ctl, r->method, command_params(c));

	if (result != NULL && r->print == NULL && !ctl->json)
		list_print(ctl, *r->list != '\0' ? json_object_get(result, r->list) : result,
			r->columns, r->none);
	ctl_result(ctl, result, r->print);
}

/* ---- views ---- */

static const char *
short_family(const char *family)
{
	return strcmp(family, "ipv4-unicast") == 0    ? "ipv4"
	       : strcmp(family, "ipv6-unicast") == 0  ? "ipv6"
	       : strcmp(family, "vpnv4-unicast") == 0 ? "vpnv4"
						      : "vpnv6";
}

/* True if the candidate holds edits. */
static bool
uncommitted(struct ctl *ctl)
{
	json_t *result = ctl_try(ctl, "config.diff", NULL);
	bool edited = json_array_size(json_object_get(result, "diff")) > 0;

	json_decref(result);
	return edited;
}

/* `management.hostname`, else the name of this host: the socket is local. */
static void
name_learn(struct ctl *ctl)
{
	json_t *info = ctl_try_briefly(ctl, "system.info");
	const char *name = json_string_value(json_object_get(info, "hostname"));
	char host[HOST_NAME_MAX + 1] = "";

	if (name == NULL)
		name = gethostname(host, sizeof(host)) == 0 && *host != '\0' ? host : "keel";
	snprintf(ctl->name, sizeof(ctl->name), "%s", text_safe(name));
	json_decref(info);
}

void
prompt_text(struct ctl *ctl, char *buf, size_t size)
{
	const char *name = ctl->name;
	char mark;

	if (name[0] == '\0')
		name_learn(ctl);

	ctl->edited = ctl->view != VIEW_USER && uncommitted(ctl);
	mark = ctl->edited ? '*' : '~';
	if (ctl->view == VIEW_USER)
		snprintf(buf, size, "<%s>", name);
	else if (ctl->view == VIEW_POLICY)
		snprintf(
			buf, size, "[%c%s-route-policy-%s-%u]", mark, name, ctl->policy, ctl->node);
	else if (ctl->view == VIEW_VRF)
		snprintf(buf, size, "[%c%s-bgp-af-%s-%s]", mark, name, short_family(ctl->family),
			ctl->vrf);
	else if (ctl->view == VIEW_FAMILY)
		snprintf(buf, size, "[%c%s-bgp-af-%s]", mark, name, short_family(ctl->family));
	else
		snprintf(buf, size, "[%c%s%s]", mark, name, ctl->view == VIEW_BGP ? "-bgp" : "");
}

/* True if the candidate has the VPN instance; otherwise prints an error. */
static bool
instance_exists(struct ctl *ctl, const char *name)
{
	json_t *result = ctl_call(ctl, "config.get", json_pack("{s:s}", "source", "candidate"));
	const json_t *vrfs = json_object_get(json_object_get(result, "document"), "vrfs"), *vrf;
	bool found = false;
	size_t i;

	if (result == NULL)
		return false;
	json_array_foreach(vrfs, i, vrf)
	{
		const char *other = json_string_value(json_object_get(vrf, "name"));

		found |= other != NULL && strcmp(other, name) == 0;
	}
	json_decref(result);
	if (!found)
		ctl_fail(ctl, EXIT_REFUSED, "there is no VPN instance \"%.64s\"%s", text_safe(name),
			NOT_THERE(ctl));
	return found;
}

void
enter_system(struct ctl *ctl, const struct command *c)
{
	(void)c;
	ctl->view = VIEW_SYSTEM;
}

void
enter_bgp(struct ctl *ctl, const struct command *c)
{
	if (c->undo)
		edit_command(ctl, c);
	else if (edit_asn_agrees(ctl, command_asn(c)))
		ctl->view = VIEW_BGP;
}

void
enter_family(struct ctl *ctl, const struct command *c)
{
	const char *vrf = arg(c, "vrf");

	if (vrf != NULL) {
		if (!instance_exists(ctl, vrf))
			return;
		snprintf(ctl->vrf, sizeof(ctl->vrf), "%s", vrf);
	}
	ctl->family = c->family;
	ctl->view = vrf != NULL ? VIEW_VRF : VIEW_FAMILY;
}

/* First applies the line, which may create the node. */
void
enter_policy(struct ctl *ctl, const struct command *c)
{
	edit_command(ctl, c);
	if (ctl->status != EXIT_DONE) {
		ctl->view = VIEW_SYSTEM;
		return;
	}
	ctl->view = VIEW_POLICY;
	snprintf(ctl->policy, sizeof(ctl->policy), "%s", arg(c, "name"));
	ctl->node = (unsigned)arg_number(c, "node");
}

void
remove_node(struct ctl *ctl, const struct command *c)
{
	bool open = ctl->view == VIEW_POLICY && strcmp(arg(c, "name"), ctl->policy) == 0 &&
		    (arg(c, "node") == NULL || arg_number(c, "node") == ctl->node);

	edit_command(ctl, c);
	if (ctl->status == EXIT_DONE && open)
		ctl->view = VIEW_SYSTEM;
}

void
view_return(struct ctl *ctl, const struct command *c)
{
	(void)c;
	ctl->view = VIEW_USER;
}

void
view_quit(struct ctl *ctl, const struct command *c)
{
	(void)c;
	ctl->leave = ctl->view == VIEW_USER;
	ctl->view = ctl->view & (VIEW_FAMILY | VIEW_VRF)   ? VIEW_BGP
		    : ctl->view & (VIEW_BGP | VIEW_POLICY) ? VIEW_SYSTEM
							   : VIEW_USER;
}

/* ---- the place of a wrong word ---- */

#define SHOWN 400 /* octets of a line that are shown, half of them before the wrong word */

/* Prints the line on stderr, and `^` below the octet `at`. */
static void
print_point(const char *line, size_t len, size_t at)
{
	size_t from = at > SHOWN / 2 ? at - SHOWN / 2 : 0, n;
	char pad[SHOWN + 8] = "";
	unsigned pads = 0;

	if (MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	while (from > 0 && from < at && ((unsigned char)line[from] & 0xc0) == 0x80)
		from++;
	for (size_t i = from; i < len && i < from + SHOWN; i += n) {
		wchar_t c = 0;
		int width;

		n = mbrtowc(&c, line + i, len - i, &(mbstate_t){0});
		n = n == 0 || n > len - i ? 1 : n;
		width = line[i] == '\t' ? 1 : wcwidth(c);
		fprintf(stderr, "%.*s", width < 0 ? 1 : (int)n, width < 0 ? "?" : line + i);
		for (int k = 0; i < at && k < (width < 0 ? 1 : width); k++)
			pad[pads++] = line[i] == '\t' ? '\t' : ' ';
	}
	fprintf(stderr, "\n%s%s^\n", pad, at >= len ? " " : "");
}

/* Octets of a word before a password, in lines of keelctl and of other routers, also misspelt. */
static const char *const secret_signs[] = {
	"pass", "pasw", "word", "pwd", "simple", "cipher", "secret", "token", "key", "md5", "auth"};

static bool
is_secret_sign(const char *word)
{
	bool sign = strlen(word) > 1 && strncasecmp("password", word, strlen(word)) == 0;

	for (size_t i = 0; i < sizeof(secret_signs) / sizeof(secret_signs[0]); i++)
		sign |= strcasestr(word, secret_signs[i]) != NULL;
	return sign;
}

/*
 * Overwrites what follows a sign of a password; returns its position, SIZE_MAX without one. Clears *shown
 * for a sign in other text (JSON, a pointer, an open quote), whose password may stand before.
 */
static size_t
secret_hide(char *line, bool *shown)
{
	char *p = line, *from;

	*shown = true;
	for (;;) {
		char *word = p + strspn(p, " \t\r\n\v\f"), end;

		p = word + strcspn(word, " \t\r\n\v\f");
		end = *p;
		*p = '\0';
		if (is_secret_sign(word)) {
			*shown = word[strspn(word, "-_"
						   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU"
						   "VWXYZ0123456789")] == '\0';
			from = *shown ? p : word;
			*p = end;
			break;
		}
		*p = end;
		if (end == '\0')
			return SIZE_MAX;
	}
	for (p = from; *p != '\0'; p++)
		*p = isspace((unsigned char)*p) ? *p : '*';
	return (size_t)(from - line);
}

bool
has_secret(char *line)
{
	unsigned word = 0;
	bool shown;

	for (const char *p = line; p != NULL && *p != '\0'; p += *p != '\0') {
		size_t len = strcspn(p, " \t\r\n;");

		if (len == 1 && *p == 'p' && word > 1)
			return true; /* perhaps `peer ADDRESS password` */
		word = p[len] == ';' ? 0 : word + (len > 0);
		p += len;
	}
	return line == NULL || secret_hide(line, &shown) != SIZE_MAX;
}

bool
secret_follows(const char *line)
{
	char last[32];
	size_t len = strlen(line), begin;

	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	for (begin = len; begin > 0 && !isspace((unsigned char)line[begin - 1]);)
		begin--;
	snprintf(last, sizeof(last), "%.*s", (int)(len - begin), line + begin);
	return is_secret_sign(last);
}

/*
 * Shows the place of the wrong word, the last of `count` words or after the last, in the line. True if
 * the word may be part of a password.
 */
static bool
line_point(const struct ctl *ctl, char *const *words, unsigned count, unsigned wrong)
{
	char joined[4096] = "";
	const char *line = joined, *end;
	size_t at = 0, len = 0;
	char *copy;
	bool shown = false, hidden;

	if (ctl->quiet || count == 0 || wrong == 0)
		return false;
	fflush(stdout); /* keep the order of both streams on a terminal */
	if (ctl->typed != NULL) {
		line = ctl->typed + (words[0] - ctl->split);
		end = line + (words[count - 1] - words[0]) + strlen(words[count - 1]);
		end += strspn(end, "\"'");
		len = (size_t)(end - line) + strcspn(end, ";#\n");
		while (len > 0 && isspace((unsigned char)line[len - 1]))
			len--;
		at = wrong <= count ? (size_t)(words[wrong - 1] - words[0])
				    : (size_t)(end - line) + 1;
	} else {
		for (unsigned i = 0; i < count && len < sizeof(joined); i++) {
			at = i + 1 == wrong ? len + (i > 0) : at;
			len += (size_t)snprintf(joined + len, sizeof(joined) - len, "%s%s",
				i > 0 ? " " : "", words[i]);
		}
		len = strlen(joined);
		at = wrong <= count && at < len ? at : len;
	}
	copy = strndup(line, len);
	hidden = copy == NULL || secret_hide(copy, &shown) <= at;
	if (shown)
		print_point(copy, len, at);
	free(copy);
	return hidden;
}

/* Overwrites the word that a message quotes. */
static void
quoted_hide(char *error, const char *word)
{
	char *p = strchr(error, '"');

	while (p != NULL && *word != '\0' && *++p == *word++)
		*p = '*';
}

/* Answers a line of another router with the keelctl line for the same task. */
static void
line_wrong(struct ctl *ctl, char *const *words, unsigned count, unsigned wrong, char *error)
{
	char use[256];

	if (foreign_line(words, count, use, sizeof(use))) {
		ctl_fail(ctl, EXIT_USAGE, "use: %s", text_safe(use));
	} else {
		if (line_point(ctl, words, count, wrong) && wrong <= count)
			quoted_hide(error, words[wrong - 1]);
		ctl_fail(ctl, EXIT_USAGE, "%s", text_safe(error));
	}
}

/* ---- watch ---- */

#define WATCH_S 2

static bool
is_show(const struct command *c)
{
	const char *verb = c->word[0].text;

	return strcmp(verb, "show") == 0 || strcmp(verb, "display") == 0;
}

/* The position of the first filter; `count` without a filter. */
static unsigned
bar_of(char *const *words, unsigned count)
{
	unsigned bar = 0;

	while (bar < count && strcmp(words[bar], "|") != 0)
		bar++;
	return bar;
}

/* Runs a command with the filters of these words. */
static void
filtered_run(
	struct ctl *ctl, const struct command *c, char *const *words, unsigned count, bool page)
{
	struct output out;

	if (!output_begin(ctl, words, count, &out))
		return;
	if (page)
		output_page(ctl, &out);
	c->rule->run(ctl, c);
	output_end(ctl, &out);
}

/* Repeats a show command until Ctrl-C or an error. */
static void
watch_words(struct ctl *ctl, char *const *words, unsigned count)
{
	unsigned bar = bar_of(words, count);
	struct command c;
	char error[1024];

	if (command_parse(ctl->view, words, bar, &c, error, sizeof(error)) != 0)
		line_wrong(ctl, words, bar, c.wrong, error);
	else if (!is_show(&c))
		ctl_fail(ctl, EXIT_USAGE, "only valid with a show command");
	else if (ctl->script)
		ctl_fail(ctl, EXIT_USAGE, "not valid in a script: watch does not end");
	if (ctl->status != EXIT_DONE)
		return;
	ctl_interrupt_catch();
	ctl_interrupt_clear();
	while (ctl->status == EXIT_DONE && !ctl_interrupted()) {
		if (ctl->terminal)
			fputs("\033[H\033[2J", stdout);
		filtered_run(ctl, &c, words + bar, count - bar, false);
		fflush(stdout);
		if (!ctl_interrupted())
			(void)poll(NULL, 0, WATCH_S * 1000); /* Ctrl-C ends the wait */
	}
	ctl_interrupt_clear();
}

/* A command in one word, as with quotes. */
void
watch_command(struct ctl *ctl, const struct command *c)
{
	char *words[COMMAND_WORDS_MAX], error[256], *copy = strdup(arg(c, "command")), *at = copy;
	const char *typed = ctl->typed;
	int n = copy != NULL ? command_split(&at, words, error, sizeof(error)) : -1;

	ctl->typed = NULL; /* the words are those of the copy */
	if (copy == NULL)
		ctl_fail(ctl, EXIT_REFUSED, "out of memory");
	else if (n < 0)
		ctl_fail(ctl, EXIT_USAGE, "%s", text_safe(error));
	else
		watch_words(ctl, words, (unsigned)n);
	ctl->typed = typed;
	free(copy);
}

/* ---- commands ---- */

void
help_command(struct ctl *ctl, const struct command *c)
{
	(void)c;
	help_view(ctl->view);
}

/* The word of VRP, perhaps abbreviated, or of FRR. */
static bool
is_node_header(const char *word)
{
	return strncmp(word, "route-p", 7) == 0 || strcmp(word, "route-map") == 0;
}

void
run_words(struct ctl *ctl, char *const *words, unsigned count)
{
	struct command command = {.wrong = 0};
	char error[1024] = "expected a command before \"|\"";
	unsigned bar = bar_of(words, count);

	if (count > 2 && strcmp(words[0], "watch") == 0) {
		watch_words(ctl, words + 1, count - 1);
		return;
	}
	if (bar == 0 || command_parse(ctl->view, words, bar, &command, error, sizeof(error)) != 0) {
		line_wrong(ctl, words, bar, command.wrong, error);
		/* the lines that follow must not edit the node of the view before */
		if (bar > 0 && ctl->view == VIEW_POLICY && is_node_header(words[0]))
			ctl->view = VIEW_SYSTEM;
		return;
	}
	/* words may be abbreviated */
	ctl->secret |= keyword(&command, "password") != NULL;
	filtered_run(ctl, &command, words + bar, count - bar, is_show(&command));
}

void
run_text(struct ctl *ctl, char *text, const char *where)
{
	const char *mark = text + strspn(text, " \t\r\n");
	char *typed = strdup(text);
	unsigned number = 0;

	if (*mark == '#' && mark[1 + strspn(mark + 1, " \t\r\n")] == '\0' &&
		ctl->view & VIEW_CONFIG)
		ctl->view = VIEW_SYSTEM; /* as between two sections of a configuration of VRP */
	ctl->script |= where != NULL;
	ctl->typed = typed;
	ctl->split = text;
	while (text != NULL && ctl->status == EXIT_DONE && !ctl->leave) {
		char *words[COMMAND_WORDS_MAX] = {NULL}, error[256];
		unsigned count = 0;
		int n;

		if (where != NULL)
			snprintf(ctl->where, sizeof(ctl->where), "%s %u: ", where, ++number);
		n = command_split(&text, words, error, sizeof(error));
		while (n < 0 && count < COMMAND_WORDS_MAX && words[count] != NULL)
			count++;
		(void)line_point(ctl, words, count, count);
		if (n < 0)
			ctl_fail(ctl, EXIT_USAGE, "%s", text_safe(error));
		else if (n > 0)
			run_words(ctl, words, (unsigned)n);
	}
	ctl->typed = NULL;
	ctl->secret |= has_secret(typed);
	free(typed);
}

void
run_stdin(struct ctl *ctl)
{
	unsigned number = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	ctl->script = true;
	while (ctl->status == EXIT_DONE && !ctl->leave &&
		(len = getline(&line, &size, stdin)) >= 0) {
		const char *nul = memchr(line, '\0', (size_t)len);

		snprintf(ctl->where, sizeof(ctl->where), "line %u: ", ++number);
		if (nul != NULL)
			ctl_fail(ctl, EXIT_USAGE, "a NUL octet at column %td", nul - line + 1);
		else
			run_text(ctl, line, NULL);
	}
	free(line);
}
