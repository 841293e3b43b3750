/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rights.h"

#include "control/apply/apply.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "lpm/base/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef KEEL_SECCOMP
#include "lpm/base/calls.h"

#include <sched.h>
#include <sys/mman.h>
#endif

#define USER "keel"
#define FORWARDER_USER "keel-forwarder"

bool
keeld_uses_namespaces(const struct keeld *k)
{
	return k->may_enter || apply_running(k->apply)->vrf_count > 0;
}

/* ---- user ---- */

/*
 * The name must not be a link, and must be the same unchanged file before and after FILE was read:
 * a user who owns the folder could put another file there meanwhile.
 */
static bool
file_is_trusted(const struct keeld *k)
{
	const struct stat *was = &k->file_seen;
	struct stat is;

	if (rights_have() == 0)
		return true;
	return lstat(k->config_file, &is) == 0 && S_ISREG(is.st_mode) && is.st_uid == 0 &&
	       (is.st_mode & (S_IWGRP | S_IWOTH)) == 0 && is.st_dev == was->st_dev &&
	       is.st_ino == was->st_ino && is.st_ctim.tv_sec == was->st_ctim.tv_sec &&
	       is.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

/* Started as root, keeld starts keelfwd as root, and keelfwd becomes this user. */
static int
find_forwarder_user(struct keeld *k)
{
	const char *name = k->forwarder_user != NULL ? k->forwarder_user : FORWARDER_USER;
	struct rights_user u;
	int e = rights_user_find(name, &u);

	if (e == -ENOENT && k->forwarder_user == NULL) {
		log_event(LOG_WARNING,
			"rights-user user=root text=\"there is no user " FORWARDER_USER
			": keelfwd stays root; create the user, or use --forwarder-user\"");
		return 0;
	}
	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=user user=%s error=\"%s\"", name,
			strerrordesc_np(-e));
	k->forwarder_user = name;
	return e;
}

int
keeld_user_set(struct keeld *k)
{
	const char *name = k->user != NULL ? k->user : USER;
	struct rights_user u;
	int e;

	k->file_trusted = file_is_trusted(k);
	k->may_enter = geteuid() != 0 && (rights_have() & RIGHT(CAP_SYS_ADMIN)) != 0;
	if (geteuid() == 0 && (e = find_forwarder_user(k)) != 0)
		return e;
	if (geteuid() != 0 || strcmp(name, "root") == 0)
		return 0;
	e = rights_user_find(name, &u);
	if (e == -ENOENT && k->user == NULL) {
		log_event(LOG_WARNING, "rights-user user=root text=\"there is no user " USER
				       ": keeld stays root; create the user, or use --user\"");
		return 0;
	}
	if (e == 0)
		e = rights_user_set(&u);
	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=user user=%s error=\"%s\"", name,
			strerrordesc_np(-e));
	return e;
}

/* The folder of a path; free(). NULL: no memory. */
static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? strdup(".")
			     : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* 0, -errno (logged). access(2) ignores the capabilities that keeld still has. */
static int
check_folder(const char *folder)
{
	int e = access(folder, W_OK | X_OK) != 0 ? -errno : 0;

	if (e != 0)
		log_event(LOG_ERROR,
			"start-failed part=folders folder=%s error=\"%s\" text=\"the user of keeld "
			"needs the right to write: change the owner of the folder\"",
			folder, strerrordesc_np(-e));
	return e;
}

int
keeld_rights_check(struct keeld *k)
{
	char *file = folder_of(k->config_file), *socket = folder_of(k->socket);
	int e = file == NULL || socket == NULL ? -ENOMEM : check_folder(k->state_dir);

	/* the folder of a socket of the document is made later */
	if (e == 0 && access(socket, F_OK) == 0)
		e = check_folder(socket);
	if (e == 0 && access(file, W_OK | X_OK) != 0)
		log_event(LOG_WARNING,
			"rights-file file=%s error=\"%s\" text=\"commits cannot be written: the "
			"user of keeld needs the right to write the folder of the file\"",
			k->config_file, strerrordesc_np(errno));
	free(file);
	free(socket);
	return e;
}

/* ---- capabilities ---- */

int
keeld_rights_limit(struct keeld *k)
{
	uint64_t keep = RIGHT(CAP_NET_BIND_SERVICE);
	int e;

	if (keeld_uses_namespaces(k))
		keep |= RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_NET_ADMIN);
	e = rights_limit(keep);
	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=capabilities error=\"%s\"",
			strerrordesc_np(-e));
	return e;
}

/* ---- system calls ---- */

#ifdef KEEL_SECCOMP
/*
 * What keeld, libc, jansson, libmnl, PCRE2 and jemalloc use after the start. Names that
 * an architecture does not have are skipped.
 */
static const char *const calls[] = {
	/* files: the document, history, audit log, traces */
	"access",
	"close",
	"close_range",
	"creat",
	"dup",
	"dup2",
	"dup3",
	"faccessat",
	"faccessat2",
	"fallocate",
	"fchmod",
	"fchmodat",
	"fchown",
	"fchownat",
	"fcntl",
	"fdatasync",
	"flock",
	"fstat",
	"fstatfs",
	"fsync",
	"ftruncate",
	"getcwd",
	"getdents",
	"getdents64",
	"link",
	"linkat",
	"lseek",
	"lstat",
	"mkdir",
	"mkdirat",
	"newfstatat",
	"open",
	"openat",
	"pread64",
	"preadv",
	"pwrite64",
	"pwritev",
	"read",
	"readlink",
	"readlinkat",
	"readv",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"stat",
	"statfs",
	"statx",
	"symlink",
	"sync_file_range",
	"umask",
	"unlink",
	"unlinkat",
	"utimensat",
	"write",
	"writev",
	"chmod",
	"chown",
	"sendfile",
	"pipe",
	"pipe2",
	/* sockets */
	"accept",
	"accept4",
	"bind",
	"connect",
	"getpeername",
	"getsockname",
	"getsockopt",
	"ioctl",
	"listen",
	"recvfrom",
	"recvmmsg",
	"recvmsg",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	/* waiting and time */
	"clock_getres",
	"clock_gettime",
	"clock_nanosleep",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"eventfd",
	"eventfd2",
	"futex",
	"futex_waitv",
	"gettimeofday",
	"nanosleep",
	"poll",
	"ppoll",
	"pselect6",
	"restart_syscall",
	"select",
	"time",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_settime",
	/* memory */
	"brk",
	"madvise",
	"membarrier",
	"mincore",
	"mremap",
	"msync",
	"munmap",
	/* threads, signals, the process itself */
	"exit",
	"exit_group",
	"getcpu",
	"getegid",
	"geteuid",
	"getgid",
	"getpid",
	"getppid",
	"getrandom",
	"getresgid",
	"getresuid",
	"getrlimit",
	"getrusage",
	"gettid",
	"getuid",
	"get_robust_list",
	"rseq",
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigsuspend",
	"rt_sigtimedwait",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_setaffinity",
	"sched_yield",
	"set_robust_list",
	"set_tid_address",
	"sigaltstack",
	"signalfd4",
	"sysinfo",
	"times",
	"uname",
#ifdef KEEL_SANITIZED
	"prctl",
	"ptrace",
	"wait4",
	"process_vm_readv",
	"personality",
#endif
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const char *const namespace_calls[] = {"setns", "unshare", "mount", "umount2"};

/* Calls that fail for keeld, and that callers expect to fail: EPERM, and keeld goes on. */
static void
refuse_some(struct calls *f, bool namespaces)
{
	const scmp_datum_t exec = PROT_WRITE | PROT_EXEC;

	/*
	 * Memory that is writable and executable: PCRE2 interprets the expressions of a commit, instead
	 * of code for the CPU.
	 */
	calls_rule(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, exec, exec));
	calls_rule(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	/* A commit adds the first VPN instance: no namespace until the next start. */
	calls_names(f, namespaces ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM), namespace_calls,
		COUNT(namespace_calls));
}

/* Calls that are permitted with some arguments only. */
static void
allow_some(struct calls *f)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	const scmp_datum_t exec = PROT_WRITE | PROT_EXEC;

	for (size_t i = 0; i < COUNT(families); i++) {
		calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
		calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	}
	/* no memory that is writable and executable; mmap() of a library is read and execute */
	for (scmp_datum_t p = 0; p <= 2; p += 2)
		calls_rule(
			f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, exec, p));
	calls_rule(
		f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, exec, PROT_EXEC));
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* a signal to keeld itself, as by abort() */
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	/* the limits of keeld are read, not set */
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	/* threads, no processes; glibc uses clone() if clone3() is missing */
	calls_rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
#ifdef KEEL_SANITIZED
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 0);
#else
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	/* names of threads, and of memory for jemalloc and glibc */
	calls_rule(
		f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, 15 /* PR_SET_NAME */));
	calls_rule(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
		SCMP_A0(SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA */));
#endif
}

int
keeld_calls_limit(struct keeld *k)
{
	struct calls f = calls_begin(SCMP_ACT_KILL_PROCESS);
	int rc;

	calls_names(&f, SCMP_ACT_ALLOW, calls, COUNT(calls));
	allow_some(&f);
	refuse_some(&f, keeld_uses_namespaces(k));
	rc = calls_load(&f);
	if (rc != 0)
		log_event(LOG_ERROR, "start-failed part=filter error=\"%s\"", strerrordesc_np(-rc));
	return rc;
}
#else
int
keeld_calls_limit(struct keeld *k)
{
	(void)k;
	log_event(LOG_WARNING,
		"rights-filter text=\"built without libseccomp: no filter of system calls\"");
	return 0;
}
#endif
