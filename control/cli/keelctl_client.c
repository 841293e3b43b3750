/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_STEP (64u << 10)
#define WAIT_MS 100 /* interval between calls of `waiting` */

struct client {
	int fd;
	client_waiting *waiting;
	void *arg;
	json_int_t last_id;
	char *in;
	size_t in_len, in_size;
};

int
client_open(const char *path, struct client **out)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct client *c;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0) {
		err = -errno;
		client_close(c);
		return err;
	}
	*out = c;
	return 0;
}

void
client_close(struct client *c)
{
	if (c == NULL)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	free(c);
}

static int
send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int
client_send(struct client *c, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:s, s:I, s:s, s:o*}", "jsonrpc", "2.0", "id", ++c->last_id,
		"method", method, "params", params);
	char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
	int err = text != NULL ? send_all(c->fd, text, strlen(text)) : -ENOMEM;

	if (err == 0)
		err = send_all(c->fd, "\n", 1);
	free(text);
	json_decref(request);
	return err;
}

bool
client_gone(const struct client *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Waits for input. 0, -errno; -EINTR: cancelled. */
static int
wait_readable(struct client *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	double seconds = 0;

	for (;; seconds += WAIT_MS / 1e3) {
		int n = poll(&p, 1, WAIT_MS);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (c->waiting != NULL && !c->waiting(c->arg, seconds))
			return -EINTR;
	}
}

/*
 * Reads until the buffer contains a whole line; returns its length without the newline, or -errno.
 */
static ssize_t
read_line(struct client *c)
{
	size_t scanned = 0;

	for (;;) {
		char *newline = c->in_len > scanned
					? memchr(c->in + scanned, '\n', c->in_len - scanned)
					: NULL;
		ssize_t n;
		int err;

		if (newline != NULL)
			return newline - c->in;
		scanned = c->in_len;
		if (c->in_size - c->in_len < READ_STEP) {
			size_t size = 2 * c->in_size + READ_STEP;
			char *in = realloc(c->in, size);

			if (in == NULL)
				return -ENOMEM;
			c->in = in;
			c->in_size = size;
		}
		err = wait_readable(c);
		if (err != 0)
			return err;
		n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		c->in_len += (size_t)n;
	}
}

/* Reads the next value; NULL with *err on failure. */
static json_t *
read_value(struct client *c, int *err)
{
	ssize_t len = read_line(c);
	json_t *value;

	if (len < 0) {
		*err = (int)len;
		return NULL;
	}
	value = json_loadb(c->in, (size_t)len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	c->in_len -= (size_t)len + 1;
	memmove(c->in, c->in + len + 1, c->in_len);
	if (value == NULL)
		*err = -EPROTO;
	return value;
}

int
client_receive(struct client *c, client_waiting *waiting, void *arg, json_t **answer)
{
	int err = 0;

	c->waiting = waiting;
	c->arg = arg;
	while (err == 0) {
		json_t *value = read_value(c, &err), *id = json_object_get(value, "id");

		if (value == NULL)
			break;
		/*
		 * An error without id also answers our request: only one request is open at a time.
		 */
		if ((json_is_integer(id) && json_integer_value(id) == c->last_id &&
			    (json_object_get(value, "result") != NULL ||
				    json_object_get(value, "error") != NULL)) ||
			(json_is_null(id) && json_object_get(value, "error") != NULL)) {
			*answer = value;
			return 0;
		}
		json_decref(value); /* a notification, or the late answer to an earlier call */
	}
	return err;
}

int
client_next(struct client *c, client_waiting *waiting, void *arg, json_t **params)
{
	int err = 0;

	c->waiting = waiting;
	c->arg = arg;
	for (;;) {
		json_t *value = read_value(c, &err);

		if (value == NULL)
			return err;
		*params = json_incref(json_object_get(value, "params"));
		json_decref(value);
		if (*params != NULL)
			return 0;
	}
}
