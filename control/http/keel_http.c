/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keel-http, the HTTP server. keeld starts keel-http with a socket (control/http/front.h); keel-http ends
 * when keeld closes the socket. The first process starts the second process again after a crash, because
 * the filter of keeld permits no fork(). The second process serves clients, without capabilities, also after the
 * first process was killed; a filter of system calls permits no file, no connect() and no process.
 */
#include "control/base/log.h"
#include "control/base/threads.h"
#include "control/http/front.h"
#include "control/http/http.h"
#include "lpm/base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef KEEL_SECCOMP
#include "lpm/base/calls.h"

#include <sys/mman.h>
#endif

#define EXIT_ENDED 0 /* with keeld */
#define EXIT_RUN_TIME 1
#define EXIT_USAGE 2
#define USER "nobody"
#define AGAIN_US 500000u /* from a crash to the next start */
#define LOG_END_NS 1000000000u

struct keel_http {
	struct thread *thread;
	struct watch front; /* the socket to keeld */
	struct watch first; /* a pipe, whose other end closes with the first process */
	struct http *http; /* NULL: no listener yet */
	int status;
};

/* ---- rights ---- */

/* Gives up all capabilities. Started by root, becomes a user without files first. 0, -errno. */
static int
rights_drop(void)
{
	struct rights_user u;
	bool root = (rights_have() & RIGHT(CAP_SETUID)) != 0 && rights_user_find(USER, &u) == 0;
	int e = root ? rights_user_set(&u) : 0;

	if (e == 0)
		e = rights_limit(0);
	if (e == 0 && root) /* no debugger of another process of this user */
		(void)prctl(PR_SET_DUMPABLE, 0);
	return e;
}

#ifdef KEEL_SECCOMP
/* Further calls, such as an open() of /etc/localtime, fail with EPERM. */
/* clang-format off */
static const char *const calls[] = {
	"accept", "accept4", "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "close",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2",
	"exit", "exit_group", "fstat", "futex", "getpid", "getpeername", "getrandom",
	"getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "madvise", "mremap",
	"munmap", "nanosleep", "newfstatat", "pipe2", "poll", "ppoll", "read", "readv",
	"recvfrom", "recvmsg", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "sched_getaffinity", "sched_yield", "sendmsg", "sendto",
	"set_robust_list", "setsockopt", "shutdown", "sigaltstack", "time", "uname", "write",
	"writev",
#ifdef KEEL_SANITIZED
	"clone", "getdents", "getdents64", "getppid", "kill", "lseek", "lstat", "mmap", "mprotect",
	"open", "openat", "prctl", "process_vm_readv", "ptrace", "readlink", "sched_getparam",
	"stat", "wait4",
#endif
};
/* clang-format on */

static int
calls_limit(void)
{
	static const scmp_datum_t controls[] = {
		F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
	struct calls f = calls_begin(SCMP_ACT_ERRNO(EPERM));

	calls_names(&f, SCMP_ACT_ALLOW, calls, sizeof(calls) / sizeof(calls[0]));
	/* the streams to keeld */
	calls_rule(&f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
		SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM));
	/* not F_SETOWN and F_SETSIG, which send a signal to a process of the same user */
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		calls_rule(
			&f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, controls[i]));
	/* abort() */
	calls_rule(&f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
#ifndef KEEL_SANITIZED
	/* no memory that is executable */
	calls_rule(
		&f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	calls_rule(&f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
#endif
	return calls_load(&f);
}
#else
static int
calls_limit(void)
{
	return 0; /* keeld has logged that there is no filter */
}
#endif

/* ---- the second process ---- */

static void
end(struct keel_http *k, int status)
{
	k->status = status;
	thread_quit(k->thread);
}

static void
front_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct keel_http *k =
		(struct keel_http *)(void *)((char *)w - offsetof(struct keel_http, front));
	struct front_message m;
	int fd, e = front_receive(w->fd, &m, &fd);

	(void)events;
	if (e == -EAGAIN || e == -EINTR)
		return;
	if (e != 0) {
		end(k, EXIT_ENDED); /* keeld has ended */
	} else if (m.kind != FRONT_LISTENER || fd < 0 || k->http != NULL) {
		if (fd >= 0)
			close(fd);
	} else if ((e = http_create(k->thread, w->fd, fd, &k->http)) != 0) {
		log_event(LOG_ERROR, "http-crashed error=\"%s\"", strerror(-e));
		end(k, EXIT_RUN_TIME);
	}
}

static void
first_ended(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct keel_http *k =
		(struct keel_http *)(void *)((char *)w - offsetof(struct keel_http, first));

	(void)events;
	(void)watch_set(k->thread, w, 0);
	log_event(
		LOG_ERROR, "http-crashed error=\"%s\"", "the process that starts keel-http again");
}

static int
serve(int first) RUNS_ON(role_main)
{
	struct thread_config c = {.name = "keel-http"};
	struct front_message m = {.kind = FRONT_READY};
	struct keel_http k = {.front = {FRONT_FD, front_ready}, .first = {first, first_ended}};
	int e;

	if ((e = log_start(NULL, 0)) == 0 && (e = thread_adopt(&c, &k.thread)) == 0 &&
		(e = watch_set(k.thread, &k.front, EPOLLIN)) == 0 &&
		(e = watch_set(k.thread, &k.first, EPOLLIN)) == 0 && (e = calls_limit()) == 0 &&
		(e = front_send(FRONT_FD, &m, -1)) == 0)
		thread_run(k.thread);
	else
		log_event(LOG_ERROR, "http-crashed error=\"%s\"", strerror(-e));
	http_destroy(k.http);
	if (k.thread != NULL)
		thread_free(k.thread);
	(void)log_end(LOG_END_NS);
	return e == 0 ? k.status : EXIT_RUN_TIME;
}

/* ---- the first process ---- */

/* Returns the exit status: in the second process after the end of serve(), in the first process after the end of keeld. */
static int
keep_serving(void)
{
	struct pollfd keeld = {.fd = FRONT_FD, .events = POLLRDHUP};
	int status = 0, alive[2];

	if (pipe2(alive, O_CLOEXEC) != 0)
		return EXIT_RUN_TIME;
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			role_enter_main();
			close(alive[1]);
			return serve(alive[0]);
		}
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (poll(&keeld, 1, 0) > 0) /* keeld has ended */
			return EXIT_ENDED;
		log_event(LOG_ERROR, "http-crashed error=\"%s\"",
			pid < 0		      ? strerror(errno)
			: WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
					      : "exit");
		usleep(AGAIN_US);
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"log-level", 1, NULL, 'l'}, {"version", 0, NULL, 'V'}, {0}};
	int c, level, type = 0, e;
	socklen_t len = sizeof(type);

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		level = c == 'l' ? log_level_from_text(optarg) : -1;
		if (c == 'V') {
			printf("keel-http %s\n", KEEL_VERSION);
			return EXIT_ENDED;
		}
		if (level < 0)
			return EXIT_USAGE;
		log_set_level((enum log_level)level);
	}
	if (getsockopt(FRONT_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET) {
		fputs("keel-http: keeld starts this program (management.http in keel.json(5))\n",
			stderr);
		return EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	/* systemd signals all processes of a unit; keel-http serves until the end of keeld */
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	json_object_seed(0); /* reads a file */
	e = rights_drop();
	if (e != 0) {
		log_event(LOG_ERROR, "http-crashed error=\"%s\"", strerror(-e));
		return EXIT_RUN_TIME;
	}
	return keep_serving();
}
