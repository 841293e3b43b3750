/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/rights.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- capabilities: capget(2) and capset(2) have no function in libc ---- */

static int
get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &head, data) == 0 ? 0 : -errno;
}

static int
set(uint64_t permitted)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)permitted, .permitted = (uint32_t)permitted},
		{.effective = (uint32_t)(permitted >> 32),
			.permitted = (uint32_t)(permitted >> 32)}};

	return syscall(SYS_capset, &head, data) == 0 ? 0 : -errno;
}

static uint64_t
permitted(void)
{
	struct __user_cap_data_struct data[2] = {0};

	return get(data) == 0 ? data[0].permitted | (uint64_t)data[1].permitted << 32 : 0;
}

uint64_t
rights_have(void)
{
	struct __user_cap_data_struct data[2] = {0};

	return get(data) == 0 ? data[0].effective | (uint64_t)data[1].effective << 32 : 0;
}

/* Needs CAP_SETPCAP. Without that capability no_new_privs has the same effect. */
static void
limit_bounding(uint64_t keep)
{
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!(keep >> c & 1))
			(void)prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
}

int
rights_limit(uint64_t keep)
{
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return -errno;
	limit_bounding(keep);
	rc = set(permitted() & keep);
	/* A change of the user has disabled core dumps, and capset(2) does so too. */
	if (rc == 0)
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return rc;
}

/* ---- user ---- */

int
rights_user_find(const char *name, struct rights_user *out)
{
	char room[4096], *end;
	struct passwd p, *found = NULL;
	unsigned long uid = strtoul(name, &end, 10);
	bool number = *name >= '0' && *name <= '9' && *end == '\0';
	int rc = number ? getpwuid_r((uid_t)uid, &p, room, sizeof(room), &found)
			: getpwnam_r(name, &p, room, sizeof(room), &found);

	if (rc != 0 || found == NULL)
		return rc != 0 ? -rc : -ENOENT;
	if (snprintf(out->name, sizeof(out->name), "%s", p.pw_name) >= (int)sizeof(out->name))
		return -ENAMETOOLONG;
	out->uid = p.pw_uid;
	out->gid = p.pw_gid;
	return 0;
}

int
rights_user_set(const struct rights_user *u)
{
	uint64_t had = permitted();

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || initgroups(u->name, u->gid) != 0 ||
		setresgid(u->gid, u->gid, u->gid) != 0 || setresuid(u->uid, u->uid, u->uid) != 0 ||
		prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0)
		return -errno;
	return set(had);
}

int
rights_root(void)
{
	if (setresgid(0, 0, 0) != 0 || setgroups(0, NULL) != 0 || setresuid(0, 0, 0) != 0)
		return -errno;
	return 0;
}
