/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rights of a process: capabilities, user, no_new_privs. keeld and keelfwd give up all rights
 * that they do not need after the start. Capabilities belong to the calling thread; later threads
 * inherit them.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define RIGHT(capability) (UINT64_C(1) << (capability)) /* CAP_* of linux/capability.h */

struct rights_user {
	char name[33];
	uid_t uid;
	gid_t gid;
};

/* `name` may be the number of a user. -ENOENT: no such user. */
int rights_user_find(const char *name, struct rights_user *out);
/*
 * The process becomes `u`, with the groups of `u`, and keeps all capabilities. The only thread of
 * the process. 0, -errno.
 */
int rights_user_set(const struct rights_user *u);
/*
 * The user becomes root again, in a child between fork() and exec(), and exec() gives all
 * capabilities. Needs CAP_SETUID and CAP_SETGID. 0, -errno.
 */
int rights_root(void);
/*
 * Keeps the capabilities of `keep` that the thread has, and gives up the others for good: also the
 * ambient and the inheritable set are empty, and exec() gives nothing (no_new_privs). 0, -errno.
 */
int rights_limit(uint64_t keep);
/* The effective capabilities of the thread. */
uint64_t rights_have(void);
