/* SPDX-License-Identifier: BSD-3-Clause */
/* Who a client is: the uid of a socket's client (SO_PEERCRED), or the name of a bearer token. */
#include "control/rpc/rpc_call.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void
rpc_user_of_socket(struct rpc_user *u, const struct ucred *cred)
{
	*u = (struct rpc_user){0};
	if (cred->uid == (uid_t)-1)
		return;
	snprintf(u->key, sizeof(u->key), "uid %u", (unsigned)cred->uid);
	snprintf(u->from, sizeof(u->from), "socket pid %d", (int)cred->pid);
}

void
rpc_user_of_token(struct rpc_user *u, const char *name, size_t len)
{
	snprintf(u->key, sizeof(u->key), "token %.*s", (int)len, name);
	snprintf(u->name, sizeof(u->name), "token:%.*s", (int)len, name);
}

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
