/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/keelfwd_calls.h"

#include <errno.h>
#include <sched.h>

#ifdef KEEL_SECCOMP
#include "lpm/base/calls.h"

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
	struct calls f = calls_begin(SCMP_ACT_ALLOW);

	calls_names(&f, SCMP_ACT_ERRNO(EPERM), refused, sizeof(refused) / sizeof(refused[0]));
	if (namespaces)
		calls_rule(&f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 1,
			SCMP_A1(SCMP_CMP_NE, CLONE_NEWNET));
	else
		calls_rule(&f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 0);
	return calls_load(&f);
}
#else
int
keelfwd_calls_limit(bool namespaces)
{
	(void)namespaces;
	return -ENOTSUP;
}
#endif
