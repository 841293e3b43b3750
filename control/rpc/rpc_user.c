/* SPDX-License-Identifier: BSD-3-Clause */
/* Who a client is: the uid of a socket's client (SO_PEERCRED), or the name of a bearer token. */
#include "control/rpc/rpc_call.h"

#include "control/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 4096

void
rpc_user_of_socket(struct rpc_user *u, const struct ucred *cred)
{
	*u = (struct rpc_user){0};
	if (cred->uid == (uid_t)-1)
		return;
	snprintf(u->key, sizeof(u->key), "uid %u", (unsigned)cred->uid);
	snprintf(u->from, sizeof(u->from), "socket pid %d", (int)cred->pid);
}

/* ---- tokens ---- */

/*
 * Reads the token without surrounding blanks and newlines. Returns the length; 0: no token. A FIFO
 * would stop main.
 */
static size_t
token_read(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		errno = EINVAL;
		n = S_ISREG(st.st_mode) ? read(fd, out, size - 1) : -1;
	}
	if (n < 0)
		log_event(LOG_ERROR, "http-token-unreadable file=%s error=\"%s\"", path,
			strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n == (ssize_t)size - 1) {
		log_event(LOG_ERROR, "http-token-file-too-long file=%s max=%zu", path, size - 2);
		while (n > 0 && out[n - 1] != '\n') /* the beginning of a token is no token */
			n--;
	}
	while (n > 0 && strchr(" \t\r\n", out[n - 1]) != NULL)
		n--;
	return n > 0 ? (size_t)n : 0;
}

#define TOKEN_NAME_MAX 63
/* A line "NAME: TOKEN"; the length of NAME, else 0. */
static size_t
token_name(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && n <= TOKEN_NAME_MAX &&
		(isalnum((unsigned char)line[n]) || (n > 0 && strchr("_.-", line[n]) != NULL)))
		n++;
	return n > 0 && n <= TOKEN_NAME_MAX && n + 1 < len && line[n] == ':' && line[n + 1] == ' '
		       ? n
		       : 0;
}

/* Compares in constant time. */
static bool
token_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned char differs = a_len != b_len;

	for (size_t i = 0; i < b_len && a_len > 0; i++)
		differs |= (unsigned char)a[i % a_len] ^ (unsigned char)b[i];
	return differs == 0 && a_len > 0;
}

static void
user_set(struct rpc_user *u, const char *name, size_t len)
{
	snprintf(u->key, sizeof(u->key), "token %.*s", (int)len, name);
	snprintf(u->name, sizeof(u->name), "token:%.*s", (int)len, name);
}

/*
 * Finds the given token in the text of the file: the whole text is the token of the user `http`, and a
 * line "NAME: TOKEN" is the token of NAME. Looks at all lines, so that the time does not depend on the
 * place. False: no such token.
 */
static bool
token_find(const char *text, size_t len, const char *given, struct rpc_user *user)
	RUNS_ON(role_main)
{
	bool found = token_equal(text, len, given, strlen(given));

	if (found)
		user_set(user, "http", 4);
	for (size_t at = 0, end; at < len; at = end + 1) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t name, stop;

		end = newline != NULL ? (size_t)(newline - text) : len;
		name = token_name(text + at, end - at);
		for (stop = end; stop > at && strchr(" \t\r", text[stop - 1]) != NULL;)
			stop--;
		if (name > 0 && stop > at + name + 2 &&
			token_equal(
				text + at + name + 2, stop - at - name - 2, given, strlen(given))) {
			user_set(user, text + at, name);
			found = true;
		}
	}
	return found;
}

bool
rpc_user_of_token(struct rpc_user *u, const char *file, const char *token)
{
	char text[FILE_MAX];

	return file != NULL && token_find(text, token_read(file, text, sizeof(text)), token, u);
}

/* ---- names of users ---- */

/* Names go into JSON, which has no octets beside UTF-8. */
static bool
is_plain(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return len > 0 && len < 64;
}

/*
 * Reads the file itself: a name service on the network could keep main waiting. A uid that the file
 * lacks, or that has another alphabet there, has the name "uid:1000".
 */
void
rpc_user_name(struct rpc_user *u)
{
	struct passwd entry, *found = NULL;
	char text[1024];
	unsigned uid;
	FILE *f;

	if (u->name[0] != '\0' || sscanf(u->key, "uid %u", &uid) != 1)
		return;
	snprintf(u->name, sizeof(u->name), "uid:%u", uid);
	f = fopen("/etc/passwd", "re");
	if (f == NULL)
		return;
	while (fgetpwent_r(f, &entry, text, sizeof(text), &found) == 0) {
		if (entry.pw_uid == uid && is_plain(entry.pw_name)) {
			snprintf(u->name, sizeof(u->name), "%s", entry.pw_name);
			break;
		}
	}
	fclose(f);
}
