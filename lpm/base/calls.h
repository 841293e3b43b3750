/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A filter of system calls (seccomp_init(3)) for all threads of the program. The first error stays, and ends in calls_load().
 * Names that an architecture does not have are skipped. Only with KEEL_SECCOMP.
 */
#pragma once

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

struct calls {
	scmp_filter_ctx f;
	int rc; /* 0, -errno */
};

/* `otherwise`: the action for calls without a rule. */
static inline struct calls
calls_begin(uint32_t otherwise)
{
	struct calls c = {.f = seccomp_init(otherwise)};

	c.rc = c.f != NULL ? seccomp_attr_set(c.f, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOTSUP;
	if (c.rc == 0) /* a binary tree: some ten instructions for each call */
		c.rc = seccomp_attr_set(c.f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return c;
}

/* As seccomp_rule_add(): action, call, number of conditions, conditions. */
#define calls_rule(c, ...)                                                                         \
	((void)((c)->rc == 0 ? ((c)->rc = seccomp_rule_add((c)->f, __VA_ARGS__)) : 0))

static inline void
calls_names(struct calls *c, uint32_t action, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);

		if (call != __NR_SCMP_ERROR)
			calls_rule(c, action, call, 0);
	}
}

/* Puts the filter in force, and frees the struct. 0, -errno. */
static inline int
calls_load(struct calls *c)
{
	if (c->rc == 0)
		c->rc = seccomp_load(c->f);
	if (c->f != NULL)
		seccomp_release(c->f);
	return c->rc;
}
