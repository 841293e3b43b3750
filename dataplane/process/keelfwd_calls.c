/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/keelfwd_calls.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>

#ifdef KEEL_SECCOMP
#include <seccomp.h>

/* Names that an architecture does not have are skipped. */
static const char *const refused[] = {
	/* other programs, other processes */
	"execve",
	"execveat",
	"kcmp",
	"pidfd_getfd",
	"process_madvise",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	/* files that the name does not show, links, owners, devices */
	"acct",
	"chroot",
	"fanotify_init",
	"link",
	"linkat",
	"mknod",
	"mknodat",
	"name_to_handle_at",
	"open_by_handle_at",
	"quotactl",
	"swapoff",
	"swapon",
	"symlink",
	"symlinkat",
	/* mounts and namespaces */
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"mount",
	"mount_setattr",
	"move_mount",
	"open_tree",
	"pivot_root",
	"setns",
	"umount",
	"umount2",
	"unshare",
	/* the kernel and the machine */
	"add_key",
	"adjtimex",
	"clock_adjtime",
	"clock_settime",
	"delete_module",
	"finit_module",
	"init_module",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"perf_event_open",
	"personality",
	"reboot",
	"request_key",
	"setdomainname",
	"sethostname",
	"settimeofday",
	"stime",
	"syslog",
	"userfaultfd",
	"vhangup",
	/* rings of requests that no filter sees */
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	/* other users */
	"setfsgid",
	"setfsuid",
	"setgid",
	"setgroups",
	"setregid",
	"setresgid",
	"setresuid",
	"setreuid",
	"setuid",
};

int
keelfwd_calls_limit(bool namespaces)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int rc = f != NULL ? seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOTSUP;

	if (rc == 0) /* a binary tree: some ten instructions for each call */
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && rc == 0; i++) {
		int call = seccomp_syscall_resolve_name(refused[i]);

		if (namespaces && call == SCMP_SYS(setns))
			rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 1,
				SCMP_A1(SCMP_CMP_NE, CLONE_NEWNET));
		else if (call != __NR_SCMP_ERROR)
			rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 0);
	}
	if (rc == 0)
		rc = seccomp_load(f);
	if (f != NULL)
		seccomp_release(f);
	return rc;
}
#else
int
keelfwd_calls_limit(bool namespaces)
{
	(void)namespaces;
	return -ENOTSUP;
}
#endif
