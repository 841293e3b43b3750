/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/forwarder.h"

#include "dataplane/process/forwarder_wire.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/base/monotonic.h"
#include "lpm/base/region.h"
#include "lpm/base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <linux/capability.h>
#include <rte_common.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY (sizeof(struct forwarder_message) - sizeof(struct forwarder_header))
#define ANSWER_MS 5000 /* keelfwd answers within milliseconds */
#define MAIN_MS 2000 /* the same: main serves nobody meanwhile */
#define START_MS 120000 /* EAL may clear gigabytes of huge pages */
/* For 10 s. systemd starts a unit that has ended after 100 ms. */
#define SUPERVISOR_POLL_US 20000
#define SUPERVISOR_POLLS 500
#define CLOSING_POLLS 100
#define NS_PER_MS UINT64_C(1000000)
#define OWED_MOST 16 /* answers: keelfwd closes a connection with a full socket */
#define END_MS 100 /* at the end of keelfwd the connections close in turn */

/* Requests of one thread. The socket does not block. */
struct channel {
	int fd; /* -1: not connected */
	int patience_ms; /* longest wait of channel_call() */
	unsigned owed; /* requests without an answer yet */
	_Atomic bool missed; /* a request was not sent: forwarder_missed() */
	/* PUBLISH cannot be sent twice: its answer is kept, however late */
	bool publishes;
	struct forwarder_publish_answer published;
};

struct forwarder {
	const char *socket;
	bool gone; /* no keelfwd is left: for a failure of forwarder_open() */
	struct channel channel[FORWARDER_ROLES];
	struct forwarder_state state;
	struct region *tables;
	size_t state_bytes; /* mapped at FORWARDER_STATE_PLACE */
	struct next {
		struct channel channel[FORWARDER_ROLES];
		struct forwarder_hello_answer hello;
		uint64_t start_ns; /* of START; 0: not sent */
		int fd; /* of the state */
		struct forwarder_start_answer start;
	} next; /* from forwarder_reach() to forwarder_swap() */
};

/* At file scope like `dp` in eal.c: a process has one set of ports. */
static struct forwarder *used;

/* ---- connections ---- */

/* The octets behind the body of a request, and the descriptors of the request, then of the answer. */
struct cargo {
	char *at;
	size_t used;
	int fd[FORWARDER_FDS_MAX];
	unsigned fd_count;
};

static int
channel_send(struct channel *c, struct forwarder_message *m, size_t body, const struct cargo *cargo)
{
	int rc;

	m->head.magic = FORWARDER_MAGIC;
	rc = forwarder_send(c->fd, m, body, cargo->at, cargo->used, cargo->fd, cargo->fd_count);
	c->owed += rc == 0;
	return rc;
}

/* Receives answers that came late, but for `most` of them. -EAGAIN: an answer is still late. */
static int
channel_settle(struct channel *c, unsigned most)
{
	struct forwarder_message late;
	size_t body;
	int rc = 0;

	for (; rc == 0 && c->owed > most; c->owed -= rc == 0) {
		rc = forwarder_receive(c->fd, &late, &body, NULL, 0, NULL, NULL, 0, NULL);
		if (rc == 0 && late.head.type == FORWARDER_PUBLISH)
			c->published = late.publish_answer;
	}
	return rc;
}

/* The answer to the last request. -EAGAIN: not yet. */
static int
channel_answer(struct channel *c, enum forwarder_type type, struct forwarder_message *m,
	struct cargo *cargo)
{
	int rc = channel_settle(c, 1);
	size_t body;

	cargo->fd_count = 0;
	if (rc == 0)
		rc = forwarder_receive(c->fd, m, &body, NULL, 0, NULL, cargo->fd, FORWARDER_FDS_MAX,
			&cargo->fd_count);
	c->owed -= rc == 0;
	return rc == 0 && m->head.type != type ? -EPROTO : rc;
}

static void
channel_wait(const struct channel *c, int ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	while (poll(&p, 1, ms) < 0 && errno == EINTR)
		;
}

/* The same, after a wait of at most `ms` for this answer and those before. -ETIMEDOUT: not yet. */
static int
channel_await(struct channel *c, enum forwarder_type type, struct forwarder_message *m,
	struct cargo *cargo, int ms)
{
	uint64_t now = monotonic_ns(), end = now + (uint64_t)ms * NS_PER_MS;
	int rc = channel_answer(c, type, m, cargo);

	for (; rc == -EAGAIN && now < end; now = monotonic_ns()) {
		channel_wait(c, (int)((end - now) / NS_PER_MS + 1));
		rc = channel_answer(c, type, m, cargo);
	}
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

/*
 * `cargo` may be NULL. -ETIMEDOUT: keelfwd executes the request later; -EBUSY: the request was not sent. While an
 * answer is late the call does not wait.
 */
static int
channel_call(struct channel *c, struct forwarder_message *m, size_t body, struct cargo *cargo)
{
	struct cargo none = {.at = NULL};
	enum forwarder_type type = m->head.type;
	bool late = channel_settle(c, 0) == -EAGAIN;
	int rc;

	if (cargo == NULL)
		cargo = &none;
	rc = c->owed < OWED_MOST ? channel_send(c, m, body, cargo) : -EAGAIN;
	memset(m, 0, sizeof(*m));
	cargo->fd_count = 0;
	if (rc == 0)
		return channel_await(c, type, m, cargo, late ? 0 : c->patience_ms);
	if (rc == -EAGAIN)
		atomic_store_explicit(&c->missed, true, memory_order_relaxed);
	return rc == -EAGAIN ? -EBUSY : rc;
}

static void
channel_close(struct channel *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	*c = (struct channel){.fd = -1};
}

/* Connects and sends HELLO. -ENOENT, -ECONNREFUSED: no keelfwd listens; -EAGAIN: too many wait. */
static int
channel_greet(struct channel *c, const char *path, enum forwarder_role role)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct forwarder_message m = {
		.head = {.type = FORWARDER_HELLO}, .hello = {.abi = forwarder_abi(), .role = role}};
	int rc;

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, strlen(path) + 1);
	*c = (struct channel){
		.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
		.patience_ms = role == FORWARDER_MAIN ? MAIN_MS : ANSWER_MS};
	if (c->fd < 0)
		return -errno;
	rc = connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) == 0 ? 0 : -errno;
	if (rc == 0)
		rc = channel_send(c, &m, sizeof(m.hello), &(struct cargo){.at = NULL});
	if (rc != 0)
		channel_close(c);
	return rc;
}

/* The answer to HELLO. -EAGAIN: not yet. */
static int
channel_greeted(struct channel *c, struct forwarder_hello_answer *answer)
{
	struct forwarder_message m;
	struct cargo none;
	int rc = channel_answer(c, FORWARDER_HELLO, &m, &none);

	if (rc == 0) {
		*answer = m.hello_answer;
		rc = answer->result;
	}
	if (rc != 0 && rc != -EAGAIN)
		channel_close(c);
	return rc;
}

static int
channel_open(struct channel *c, const char *path, enum forwarder_role role,
	struct forwarder_hello_answer *answer)
{
	int rc = channel_greet(c, path, role);

	if (rc != 0)
		return rc;
	channel_wait(c, ANSWER_MS);
	rc = channel_greeted(c, answer);
	if (rc != -EAGAIN)
		return rc;
	channel_close(c);
	return -ETIMEDOUT;
}

/* ---- start of keelfwd ---- */

/*
 * In the child: becomes a session of its own under init, so that keelfwd belongs neither to the
 * terminal nor to the children of keeld. Only calls that are safe after fork() in a process with
 * threads.
 */
static _Noreturn void
become_keelfwd(const char *program, const char *const *argv, int ready)
{
	sigset_t set;
	int none;

	sigemptyset(&set);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)setsid();
	if (geteuid() != 0 && rights_have() & RIGHT(CAP_SETUID))
		(void)rights_root(); /* keeld is a user, and keelfwd needs the rights of root */
	if (fork() != 0)
		_exit(0);
	none = open("/dev/null", O_RDWR | O_CLOEXEC);
	/*
	 * dup2() of a descriptor to itself would leave FD_CLOEXEC. Of keeld's descriptors keelfwd keeps
	 * standard error, for its log: who reads the output of keeld need not wait for keelfwd.
	 */
	if (chdir("/") == 0 && dup2(ready, 3) == 3 && fcntl(3, F_SETFD, 0) == 0 && none > 3 &&
		dup2(none, 0) == 0 && dup2(none, 1) == 1 && close_range(4, ~0u, 0) == 0)
		(void)execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/*
 * The command line of keelfwd. A document that the user of keeld can write permits nothing: its
 * arguments of EAL could load code into a process with more rights. `own`: the number of that user;
 * `socket`: where keelfwd listens. NULL: no memory.
 */
static const char **
keelfwd_args(const struct forwarder_config *c, const char *own, const char *socket)
{
	size_t count = 0, all = 10 + 2 * ((size_t)c->dataplane->eal_arg_count + c->port_count +
						 c->permit_count);
	const char **argv = calloc(all, sizeof(*argv));

	if (argv == NULL)
		return NULL;
	argv[count++] = "keelfwd";
	argv[count++] = "--socket";
	argv[count++] = socket;
	argv[count++] = "--ready-fd";
	argv[count++] = "3";
	argv[count++] = "--keeld";
	argv[count++] = own;
	if (c->user != NULL) {
		argv[count++] = "--user";
		argv[count++] = c->user;
	}
	for (unsigned i = 0; i < c->permit_count; i++) {
		argv[count++] = "--permit";
		argv[count++] = c->permits[i];
	}
	for (unsigned i = 0; c->trusted && i < c->dataplane->eal_arg_count; i++) {
		argv[count++] = "--permit";
		argv[count++] = c->dataplane->eal_args[i];
	}
	for (unsigned i = 0; c->trusted && i < c->port_count; i++) {
		argv[count++] = "--permit";
		argv[count++] = c->ports[i].device;
	}
	return argv;
}

/* Waits until keelfwd listens, or has failed. */
static int
spawn(const struct forwarder_config *c)
{
	char own[16], folder[PATH_MAX] = "", *socket = NULL;
	const char **argv;
	int ready[2], status;
	char byte;
	pid_t pid;
	ssize_t n;

	(void)snprintf(own, sizeof(own), "%u", geteuid());
	/* keelfwd works in the root folder */
	if ((c->socket[0] != '/' && getcwd(folder, sizeof(folder)) == NULL) ||
		asprintf(&socket, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", c->socket) < 0)
		return -errno;
	argv = keelfwd_args(c, own, socket);
	/* O_CLOEXEC: keelfwd has its end at descriptor 3 */
	if (argv == NULL || pipe2(ready, O_CLOEXEC) != 0) {
		n = -errno;
		free(argv);
		free(socket);
		return (int)n;
	}
	pid = fork();
	if (pid == 0)
		become_keelfwd(c->program, argv, ready[1]);
	free(argv);
	free(socket);
	(void)close(ready[1]);
	if (pid < 0) {
		(void)close(ready[0]);
		return -errno;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	do
		n = read(ready[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	(void)close(ready[0]);
	return n == 1 ? 0 : -ECHILD;
}

/* Where keeld may not make the socket, a supervisor starts keelfwd, and again after its end. */
static bool
may_listen(const char *socket)
{
	char *folder = strdup(socket), *slash = folder != NULL ? strrchr(folder, '/') : NULL;
	bool may;

	if (slash != NULL)
		slash[slash == folder] = '\0';
	may = folder == NULL ||
	      faccessat(AT_FDCWD, slash != NULL ? folder : ".", W_OK | X_OK, AT_EACCESS) == 0;
	free(folder);
	return may;
}

static bool
nobody_listens(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

/* For a moment systemd's RuntimeDirectory= is root's. */
static bool
not_yet(int rc)
{
	return nobody_listens(rc) || rc == -EACCES;
}

/* keelfwd refuses the user, has no free descriptor, or was killed and still has the socket. */
static bool
closed_at_once(int rc)
{
	return rc == -EPIPE || rc == -ECONNRESET || rc == -EAGAIN;
}

/* keeld has no free descriptor. */
static bool
lacks_descriptors(int rc)
{
	return rc == -EMFILE || rc == -ENFILE;
}

/* Tries again while the result is of the kind, at most `polls` times. */
static int
open_after(struct forwarder *f, const struct forwarder_config *c,
	struct forwarder_hello_answer *hello, int rc, bool (*is)(int), unsigned polls)
{
	for (; is(rc) && polls > 0; polls--) {
		(void)usleep(SUPERVISOR_POLL_US);
		rc = channel_open(&f->channel[FORWARDER_MAIN], c->socket, FORWARDER_MAIN, hello);
	}
	return rc;
}

static int
connect_or_spawn(struct forwarder *f, const struct forwarder_config *c,
	struct forwarder_hello_answer *hello, struct dataplane_error *err)
{
	struct channel *main = &f->channel[FORWARDER_MAIN];
	int rc = channel_open(main, c->socket, FORWARDER_MAIN, hello);

	rc = open_after(f, c, hello, rc, closed_at_once, CLOSING_POLLS);
	if (nobody_listens(rc) && c->program != NULL && may_listen(c->socket)) {
		int spawned = spawn(c);

		/* a keelfwd that was killed may have started itself again first */
		rc = channel_open(main, c->socket, FORWARDER_MAIN, hello);
		f->gone = spawned != 0 && rc != 0;
		if (f->gone)
			return dataplane_fail(err, spawned, "%s does not start", c->program);
	}
	rc = open_after(f, c, hello, rc, not_yet, SUPERVISOR_POLLS);
	f->gone = nobody_listens(rc);
	if (f->gone)
		return dataplane_fail(err, rc,
			"nobody listens at %s, and keeld may not start keelfwd there: start its "
			"supervisor (keel-forwarder.service; is it masked, or has it failed?)",
			c->socket);
	if (rc == -EBUSY)
		return dataplane_fail(err, rc, "keelfwd at %s belongs to another keeld", c->socket);
	if (closed_at_once(rc))
		return dataplane_fail(err, rc,
			"keelfwd at %s closed the connection: its option --keeld must name the "
			"user of keeld (uid %u), and it needs free descriptors; see its log",
			c->socket, geteuid());
	if (rc != 0)
		return dataplane_fail(
			err, rc, "keelfwd at %s does not answer: %s", c->socket, strerror(-rc));
	f->state.own = hello->own;
	f->state.adopted = hello->running;
	return 0;
}

/* Ends keelfwd and waits for its end: the connection closes. */
static void
end(struct forwarder *f)
{
	struct forwarder_message m = {.head = {.type = FORWARDER_STOP}};
	struct channel *c = &f->channel[FORWARDER_MAIN];

	c->patience_ms = START_MS;
	if (channel_call(c, &m, 0, NULL) == 0)
		channel_wait(c, START_MS);
	channel_close(c);
}

/* ---- configuration ---- */

static void __attribute__((format(printf, 2, 3))) put(struct cargo *t, const char *format, ...)
{
	size_t room = FORWARDER_CONFIG_MAX - t->used;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(t->at + t->used, room, format, ap);
	va_end(ap);
	t->used = n < 0 || (size_t)n >= room ? FORWARDER_CONFIG_MAX : t->used + (size_t)n + 1;
}

/* The namespace of an instance is in the cargo once. */
static void
put_netns(struct cargo *t, int fd)
{
	unsigned at = 0;

	while (at < t->fd_count && t->fd[at] != fd)
		at++;
	if (at == t->fd_count)
		t->fd[t->fd_count++] = fd;
	put(t, "netns=%u", at);
}

/* -E2BIG: too long. */
static int
put_config(struct cargo *t, const struct forwarder_config *c)
{
	const struct dataplane_config *d = c->dataplane;

	put(t, "home=%lu", forwarder_home());
	put(t, "memory_mb=%u", d->memory_mb);
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		put(t, "limit=%u", d->host_limits.pps[i]);
	for (unsigned i = 0; i < d->worker_count; i++)
		put(t, "worker_cpu=%u", d->worker_cpus[i]);
	for (unsigned i = 0; i < d->control_count; i++)
		put(t, "control_cpu=%u", d->control_cpus[i]);
	for (unsigned i = 0; i < d->eal_arg_count; i++)
		put(t, "eal_arg=%s", d->eal_args[i]);
	for (unsigned i = 0; i < c->port_count; i++) {
		const struct port_config *p = &c->ports[i];

		put(t, "port=%s", p->name);
		put(t, "device=%s", p->device);
		put(t, "vrf=%u", p->vrf.v);
		if (p->netns != NULL)
			put_netns(t, p->netns->fd);
		put(t, "mpls=%u", p->mpls);
		put(t, "mtu=%u", p->mtu);
		put(t, "queues=%u", p->queues);
		for (unsigned q = 0; q < p->queue_worker_count; q++)
			put(t, "queue_worker=%u", p->queue_workers[q]);
		if (p->leaves || p->returns || p->optional || p->restored)
			put(t, FORWARDER_CHANGE "%u",
				p->leaves * 1u + p->returns * 2u + p->optional * 4u +
					p->restored * 8u);
	}
	return t->used < FORWARDER_CONFIG_MAX ? 0 : -E2BIG;
}

/* ---- life ---- */

/* Maps the state of keelfwd for port_read.c and worker_read.c. */
static int
map_state(struct forwarder *f, const struct forwarder_start_answer *a, int fd)
{
	int rc = region_map(fd, FORWARDER_STATE_PLACE, a->state_bytes, false);

	if (rc != 0)
		return rc;
	f->state_bytes = a->state_bytes;
	dataplane_adopt((const struct dataplane *)(uintptr_t)a->dataplane);
	workers_set((struct workers *)(uintptr_t)a->workers);
	return 0;
}

static void
unmap_state(struct forwarder *f)
{
	workers_set(NULL);
	dataplane_adopt(NULL);
	if (f->state_bytes > 0)
		region_unmap(FORWARDER_STATE_PLACE);
	f->state_bytes = 0;
}

/* Sends a request with the configuration, and `tables` as the last descriptor; -1: none. */
static int
config_send(struct channel *channel, const struct forwarder_config *c, struct forwarder_message *m,
	int tables)
{
	struct cargo cargo = {.at = malloc(FORWARDER_CONFIG_MAX)};
	int rc = cargo.at != NULL ? put_config(&cargo, c) : -ENOMEM;

	if (tables >= 0)
		cargo.fd[cargo.fd_count++] = tables;
	if (rc == 0)
		rc = channel_send(channel, m, BODY, &cargo);
	free(cargo.at);
	return rc;
}

/* The same; the answer is in `m`, its descriptors in `cargo`. */
static int
config_call(struct channel *channel, const struct forwarder_config *c, struct forwarder_message *m,
	int ms, struct cargo *cargo)
{
	enum forwarder_type type = m->head.type;
	int rc = config_send(channel, c, m, -1);

	if (rc != 0)
		return rc;
	return channel_await(channel, type, m, cargo, ms);
}

static int
start(struct forwarder *f, const struct forwarder_config *c, struct dataplane_error *err)
{
	struct forwarder_message m = {
		.head = {.type = FORWARDER_START}, .start = {.instances = c->instances}};
	const struct forwarder_start_answer *a = &m.start_answer;
	struct cargo cargo;
	int rc = config_call(&f->channel[FORWARDER_MAIN], c, &m, START_MS, &cargo);

	if (rc != 0)
		return dataplane_fail(err, rc, "keelfwd does not start: %s", strerror(-rc));
	/* keelfwd ends after a failed start; an adopted keelfwd refuses with -EXDEV, and goes on */
	f->gone = a->result != 0 && a->result != -EXDEV && !a->adopted;
	if (a->result == 0 && cargo.fd_count != 2)
		rc = dataplane_fail(err, -EPROTO, "keelfwd sent no memory");
	else if (a->result != 0)
		rc = dataplane_fail(err, a->result, "%.*s", (int)sizeof(a->text), a->text);
	else if ((rc = map_state(f, a, cargo.fd[0])) != 0 ||
		 (rc = region_create(cargo.fd[1], a->table_place, a->table_bytes, &f->tables)) != 0)
		rc = dataplane_fail(
			err, rc, "the memory of keelfwd cannot be mapped: %s", strerror(-rc));
	for (unsigned i = 0; i < cargo.fd_count; i++)
		(void)close(cargo.fd[i]);
	if (rc != 0)
		return rc;
	f->state.gone_ns = a->gone_ns;
	if (a->gone_ns != 0)
		f->state.alone_s = (unsigned)((monotonic_ns() - a->gone_ns) / 1000000000u);
	f->state.repairs = a->repairs;
	f->state.inherited = a->published;
	f->state.huge = a->huge;
	(void)snprintf(
		f->state.dpdk, sizeof(f->state.dpdk), "%.*s", (int)sizeof(a->dpdk) - 1, a->dpdk);
	return 0;
}

/* start() of a keelfwd with the same layout of shared memory; a supervisor may start another one again and again. */
static int
start_same(struct forwarder *f, const struct forwarder_config *c,
	const struct forwarder_hello_answer *hello, struct dataplane_error *err)
{
	if (hello->abi == forwarder_abi())
		return start(f, c, err);
	return dataplane_fail(err, -EPROTO,
		"keelfwd at %s is version %.*s, with another layout of shared memory than keeld "
		"(" KEEL_VERSION "), also after a restart: install both from one package",
		c->socket, (int)sizeof(hello->version), hello->version);
}

/* The connections besides main's. */
static int
open_others(struct forwarder *f, const char *socket, struct dataplane_error *err)
{
	struct forwarder_hello_answer hello;
	int rc = 0;

	for (unsigned role = FORWARDER_HOST; rc == 0 && role <= FORWARDER_EVENTS; role++) {
		rc = channel_open(&f->channel[role], socket, role, &hello);
		if (rc != 0)
			dataplane_fail(err, rc, "keelfwd refuses a connection: %s", strerror(-rc));
	}
	return rc;
}

static int
open_with(struct forwarder *f, const struct forwarder_config *c, struct dataplane_error *err)
{
	struct forwarder_hello_answer hello = {0};
	int rc = connect_or_spawn(f, c, &hello, err);

	if (rc == 0 && hello.abi != forwarder_abi()) {
		end(f);
		f->state.replaced = true;
		rc = connect_or_spawn(f, c, &hello, err);
	}
	if (rc == 0)
		rc = start_same(f, c, &hello, err);
	if (rc == -EXDEV) {
		end(f);
		f->state.replaced = true;
		rc = connect_or_spawn(f, c, &hello, err);
		if (rc == 0)
			rc = start_same(f, c, &hello, err);
	}
	f->state.pid = hello.pid;
	return rc == 0 ? open_others(f, c->socket, err) : rc;
}

int
forwarder_open(
	const struct forwarder_config *c, struct forwarder **out, struct dataplane_error *err)
{
	struct forwarder *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL)
		return dataplane_fail(err, -ENOMEM, "no memory for the connection to keelfwd");
	for (unsigned i = 0; i < FORWARDER_ROLES; i++)
		f->channel[i].fd = f->next.channel[i].fd = -1;
	f->socket = c->socket;
	rc = open_with(f, c, err);
	if (rc != 0) {
		bool ends = f->state.own && !f->state.adopted;

		*c->remains = !f->gone && !ends;
		forwarder_close(f, ends);
		return rc;
	}
	used = f;
	*out = f;
	return 0;
}

static void
next_close(struct next *n)
{
	for (unsigned i = 0; i < FORWARDER_ROLES; i++)
		channel_close(&n->channel[i]);
	n->start_ns = 0;
}

void
forwarder_close(struct forwarder *f, bool ends)
{
	if (f == NULL)
		return;
	if (ends && f->channel[FORWARDER_MAIN].fd >= 0)
		end(f);
	used = NULL;
	unmap_state(f);
	region_destroy(f->tables);
	for (unsigned i = 0; i < FORWARDER_ROLES; i++)
		channel_close(&f->channel[i]);
	next_close(&f->next);
	free(f);
}

struct region *
forwarder_region(const struct forwarder *f)
{
	return f->tables;
}

const struct forwarder_state *
forwarder_state(const struct forwarder *f)
{
	return &f->state;
}

const struct forwarder_state *
forwarder_current(void)
{
	return used != NULL ? &used->state : NULL;
}

int
forwarder_fd(const struct forwarder *f)
{
	return f->channel[FORWARDER_MAIN].fd;
}

bool
forwarder_has_ended(const struct forwarder *f)
{
	/* keelfwd closes a connection after a wrong request, and this role sends no requests */
	struct pollfd p = {.fd = f->channel[FORWARDER_EVENTS].fd, .events = POLLRDHUP};

	return poll(&p, 1, END_MS) > 0;
}

int
forwarder_reach(struct forwarder *f, const char *socket, struct dataplane_error *err)
{
	struct next *n = &f->next;
	struct forwarder_hello_answer other;
	int rc = 0;

	if (n->start_ns != 0)
		return 1;
	for (unsigned role = FORWARDER_MAIN; rc == 0 && role <= FORWARDER_EVENTS; role++)
		if (n->channel[role].fd < 0)
			rc = channel_greet(&n->channel[role], socket, role);
	for (unsigned role = FORWARDER_MAIN; rc == 0 && role <= FORWARDER_EVENTS; role++)
		if (n->channel[role].owed > 0)
			rc = channel_greeted(
				&n->channel[role], role == FORWARDER_MAIN ? &n->hello : &other);
	if (rc == 0 && !n->hello.running && n->hello.abi == forwarder_abi())
		return 0;
	if (rc == -EAGAIN)
		return rc;
	next_close(n);
	if (not_yet(rc) || closed_at_once(rc) || lacks_descriptors(rc))
		return -EAGAIN;
	return rc != 0 ? dataplane_fail(err, rc, "keelfwd at %s does not answer: %s", socket,
				 strerror(-rc))
		       : dataplane_fail(err, -EPROTO,
				 "the next keelfwd has ports already, or is of another version");
}

int
forwarder_return(struct forwarder *f, const struct forwarder_config *c, struct dataplane_error *err)
{
	struct next *n = &f->next;
	struct forwarder_message m = {
		.head = {.type = FORWARDER_START}, .start = {.instances = c->instances}};
	unsigned place;
	size_t bytes;
	int tables = region_file(f->tables, &place, &bytes), rc;

	m.start.table_place = place;
	m.start.table_bytes = bytes;
	rc = config_send(&n->channel[FORWARDER_MAIN], c, &m, tables);
	n->start_ns = monotonic_ns();
	if (rc == 0)
		return 0;
	next_close(n);
	return closed_at_once(rc)
		       ? -EAGAIN
		       : dataplane_fail(err, rc, "keelfwd does not start: %s", strerror(-rc));
}

/* 0; -EAGAIN: not yet; -errno with `err`. f->next gets the state of keelfwd. */
static int
start_answer(struct next *n, struct dataplane_error *err)
{
	struct forwarder_message m;
	struct cargo cargo;
	int rc = channel_answer(&n->channel[FORWARDER_MAIN], FORWARDER_START, &m, &cargo);

	if (rc == -EAGAIN && monotonic_ns() - n->start_ns < START_MS * NS_PER_MS)
		return rc;
	n->start = m.start_answer;
	n->fd = cargo.fd_count == 1 ? cargo.fd[0] : -1;
	if (rc == -EAGAIN)
		rc = -ETIMEDOUT;
	if (rc != 0)
		return dataplane_fail(err, rc, "keelfwd does not start: %s", strerror(-rc));
	if (n->start.result != 0)
		return dataplane_fail(
			err, n->start.result, "%.*s", (int)sizeof(n->start.text), n->start.text);
	return n->fd >= 0 ? 0 : dataplane_fail(err, -EPROTO, "keelfwd sent no memory");
}

bool
forwarder_starts(const struct forwarder *f)
{
	return f->next.start_ns != 0 || f->channel[FORWARDER_MAIN].publishes;
}

int
forwarder_returned(struct forwarder *f, struct dataplane_error *err)
{
	struct next *n = &f->next;
	int rc = start_answer(n, err);

	if (rc == -EAGAIN)
		return rc;
	if (rc != 0) {
		next_close(n);
		/* keelfwd ends after a failed start: a queue of AF_XDP may still be in use */
		return closed_at_once(rc) || lacks_descriptors(rc) || n->start.result == rc
			       ? -EAGAIN
			       : rc;
	}
	channel_close(&f->channel[FORWARDER_MAIN]);
	f->channel[FORWARDER_MAIN] = n->channel[FORWARDER_MAIN];
	n->channel[FORWARDER_MAIN].fd = -1;
	f->state.pid = n->hello.pid;
	f->state.own = n->hello.own;
	f->state.adopted = f->state.inherited = f->state.replaced = false;
	f->state.alone_s = f->state.repairs = 0;
	f->state.huge = n->start.huge;
	return 0;
}

int
forwarder_swap(struct forwarder *f, struct dataplane_error *err)
{
	struct next *n = &f->next;
	int rc;

	unmap_state(f);
	rc = map_state(f, &n->start, n->fd);
	(void)close(n->fd);
	if (rc != 0)
		return dataplane_fail(
			err, rc, "the memory of keelfwd cannot be mapped: %s", strerror(-rc));
	for (unsigned role = FORWARDER_HOST; role <= FORWARDER_EVENTS; role++) {
		channel_close(&f->channel[role]);
		f->channel[role] = n->channel[role];
		n->channel[role].fd = -1;
	}
	next_close(n);
	dataplane_lost(false);
	f->state.lost = false;
	return 0;
}

void
forwarder_lost(struct forwarder *f)
{
	dataplane_lost(true);
	f->state.lost = true;
	f->state.published = false;
	f->state.ended_ns[f->state.ends++ % FORWARDER_ENDS] = monotonic_ns();
	channel_close(&f->channel[FORWARDER_MAIN]);
}

int
forwarder_publish(struct forwarder *f, const struct workers_config *c, struct dataplane_error *err)
{
	struct forwarder_message m = {.head = {.type = FORWARDER_PUBLISH},
		.publish = {.fib = (uintptr_t)c->fib,
			.path_lists = (uintptr_t)c->path_lists,
			.qsbr = (uintptr_t)c->qsbr,
			.worker_count = c->count,
			.ecmp_key = c->ecmp_key,
			.mpls_pipe = c->mpls_pipe,
			.idle_adaptive = c->idle_adaptive,
			.forward_source_routes = c->forward_source_routes}};
	struct channel *main = &f->channel[FORWARDER_MAIN];
	const struct forwarder_publish_answer *a = &main->published;
	int rc = channel_settle(main, 0);

	for (unsigned i = 0; i < c->count && i < RTE_DIM(m.publish.reader); i++)
		m.publish.reader[i] = c->readers[i];
	if (rc == 0 && !main->publishes) {
		rc = channel_send(main, &m, BODY, &(struct cargo){.at = NULL});
		main->publishes = rc == 0;
		if (rc == 0) {
			channel_wait(main, MAIN_MS);
			rc = channel_settle(main, 0);
		}
	}
	if (rc == -EAGAIN)
		return rc;
	main->publishes = false;
	if (rc != 0)
		return dataplane_fail(err, rc, "keelfwd does not answer: %s", strerror(-rc));
	if (a->result != 0)
		return dataplane_fail(err, a->result, "%.*s", (int)sizeof(a->text), a->text);
	workers_set((struct workers *)(uintptr_t)a->workers);
	f->state.published = true;
	return 0;
}

int
forwarder_ports(struct forwarder *f, const struct forwarder_config *c, unsigned *failed,
	struct dataplane_error *err)
{
	struct forwarder_message m = {.head = {.type = FORWARDER_PORTS}};
	const struct forwarder_ports_answer *a = &m.ports_answer;
	struct cargo cargo;
	uint64_t now = monotonic_ns(), left = c->until_ns > now ? c->until_ns - now : 0;
	int rc = config_call(&f->channel[FORWARDER_MAIN], c, &m, (int)(left / NS_PER_MS), &cargo);

	*failed = c->port_count;
	if (rc != 0)
		return dataplane_fail(err, rc, "keelfwd: %s", strerror(-rc));
	*failed = a->failed;
	return a->result == 0
		       ? 0
		       : dataplane_fail(err, a->result, "%.*s", (int)sizeof(a->text), a->text);
}

/* ---- requests of other modules ---- */

/*
 * The result of a request without an answer. After the end of keelfwd the host thread repeats its requests to
 * the next keelfwd: wiring_ports_again(); but those for the kernel.
 */
static int
unsent(enum forwarder_role role, enum forwarder_type type, int rc)
{
	if (!used->state.lost && (!closed_at_once(rc) || !forwarder_has_ended(used)))
		return rc;
	return role == FORWARDER_HOST && type != FORWARDER_NETLINK ? 0 : -ENOTCONN;
}

/* keelfwd has closed the connection of the host thread. Main repeats the lost requests. 0, -errno. */
static int
host_again(struct forwarder *f)
{
	struct channel *c = &f->channel[FORWARDER_HOST];
	struct forwarder_hello_answer hello;
	int rc;

	channel_close(c);
	rc = channel_open(c, f->socket, FORWARDER_HOST, &hello);
	if (rc == 0 && hello.pid != f->state.pid) {
		channel_close(c);
		rc = -ENOTCONN;
	}
	atomic_store_explicit(&c->missed, true, memory_order_relaxed);
	return rc;
}

/* channel_call() by the thread of the role. */
static int
request(enum forwarder_role role, struct forwarder_message *m, size_t body, struct cargo *cargo)
{
	struct channel *c = &used->channel[role];
	struct forwarder_message same = *m;
	int rc = channel_call(c, m, body, cargo);

	if (role != FORWARDER_HOST || !(closed_at_once(rc) || rc == -EBADF) || used->state.lost ||
		forwarder_has_ended(used) || host_again(used) != 0)
		return rc;
	*m = same;
	return channel_call(c, m, body, cargo);
}

static int
port_call(enum forwarder_role role, enum forwarder_type type, const struct forwarder_port *about,
	struct forwarder_port_answer *answer)
{
	struct forwarder_message m = {.head = {.type = type}, .port = *about};
	int rc = request(role, &m, sizeof(m.port), NULL);

	if (rc != 0)
		return unsent(role, type, rc);
	*answer = m.port_answer;
	return answer->result;
}

int
forwarder_counters(uint16_t port, struct port_counters *out)
{
	struct forwarder_port_answer a = {0};
	int rc = port_call(
		FORWARDER_MAIN, FORWARDER_COUNTERS, &(struct forwarder_port){.port = port}, &a);

	*out = a.counters;
	return rc;
}

bool
forwarder_answers(void)
{
	struct port_counters c;
	int rc = forwarder_counters(0, &c);

	return rc != -ETIMEDOUT && rc != -EBUSY && rc != -ENOTCONN;
}

bool
forwarder_missed(struct forwarder *f)
{
	bool missed = false;

	if (channel_settle(&f->channel[FORWARDER_MAIN], 0) != 0)
		return false;
	for (unsigned role = FORWARDER_MAIN; role <= FORWARDER_HOST; role++)
		missed |= atomic_exchange_explicit(
			&f->channel[role].missed, false, memory_order_relaxed);
	return missed;
}

void
forwarder_repeat(struct forwarder *f, bool done)
{
	struct forwarder_port_answer a;

	for (unsigned role = FORWARDER_MAIN; role <= FORWARDER_HOST && done; role++)
		if (atomic_load_explicit(&f->channel[role].missed, memory_order_relaxed))
			return;
	(void)port_call(
		FORWARDER_MAIN, FORWARDER_REPEAT, &(struct forwarder_port){.present = done}, &a);
}

unsigned
forwarder_driver_counters(uint16_t port, unsigned first, struct driver_counter *out, unsigned max)
{
	struct forwarder_message m = {.head = {.type = FORWARDER_DRIVER_COUNTERS},
		.port = {.port = port, .first = first}};
	unsigned n;

	if (channel_call(&used->channel[FORWARDER_MAIN], &m, sizeof(m.port), NULL) != 0)
		return 0;
	n = m.drivers.count < FORWARDER_DRIVERS_MAX ? m.drivers.count : FORWARDER_DRIVERS_MAX;
	n = n < max ? n : max;
	memcpy(out, m.drivers.counter, n * sizeof(*out));
	return n;
}

bool
forwarder_host_counters(uint16_t port, struct host_counters out[HOST_CLASSES])
{
	struct forwarder_port_answer a = {0};
	int rc = port_call(FORWARDER_MAIN, FORWARDER_HOST_COUNTERS,
		&(struct forwarder_port){.port = port}, &a);

	memcpy(out, a.host, sizeof(a.host));
	return rc == 0 && a.changed;
}

void
forwarder_peer(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	struct forwarder_port_answer a;

	(void)port_call(FORWARDER_MAIN, FORWARDER_PEER,
		&(struct forwarder_port){.vrf = vrf, .present = present, .addr = *addr}, &a);
}

void
forwarder_session(struct vrf_id vrf, const struct ip_addr *addr, bool up, bool on_link)
{
	struct forwarder_port_answer a;

	(void)port_call(FORWARDER_MAIN, FORWARDER_SESSION,
		&(struct forwarder_port){
			.vrf = vrf, .present = up, .on_link = on_link, .addr = *addr},
		&a);
}

int
forwarder_had_session(struct vrf_id vrf, const struct ip_addr *addr, bool *on_link)
{
	struct forwarder_port_answer a = {0};
	int rc = port_call(FORWARDER_MAIN, FORWARDER_HAD_SESSION,
		&(struct forwarder_port){.vrf = vrf, .addr = *addr}, &a);

	*on_link = a.changed & 2;
	return rc == 0 ? a.changed != 0 : rc;
}

int
forwarder_refresh(uint16_t port, bool *changed)
{
	struct forwarder_port_answer a = {0};
	int rc = port_call(
		FORWARDER_HOST, FORWARDER_REFRESH, &(struct forwarder_port){.port = port}, &a);

	*changed = a.changed;
	if (rc == -ETIMEDOUT) /* the late answer is not read */
		atomic_store_explicit(
			&used->channel[FORWARDER_HOST].missed, true, memory_order_relaxed);
	return rc;
}

int
forwarder_local_address(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	struct forwarder_port_answer a;

	return port_call(FORWARDER_HOST, FORWARDER_LOCAL_ADDRESS,
		&(struct forwarder_port){.vrf = vrf, .present = present, .addr = *addr}, &a);
}

int
forwarder_anycast(uint16_t port, const struct ip_addr *addr, bool present)
{
	struct forwarder_port p = {.vrf = port_vrf(port), .present = present, .addr = *addr};
	struct forwarder_port_answer a;

	p.addr.zone = port;
	return port_call(FORWARDER_HOST, FORWARDER_ANYCAST, &p, &a);
}

static int
tail_call(enum forwarder_role role, enum forwarder_type type, const void *tail, size_t bytes)
{
	struct forwarder_message m = {.head = {.type = type}};
	struct cargo cargo = {.at = (char *)(uintptr_t)tail, .used = bytes};
	int rc = request(role, &m, BODY, &cargo);

	return rc == 0 ? m.port_answer.result : unsent(role, type, rc);
}

int
forwarder_tunnels(const uint32_t *own, unsigned count)
{
	return tail_call(FORWARDER_HOST, FORWARDER_TUNNELS, own, count * sizeof(*own));
}

int
forwarder_netlink(bool on_host, const void *message, size_t bytes)
{
	return tail_call(
		on_host ? FORWARDER_HOST : FORWARDER_MAIN, FORWARDER_NETLINK, message, bytes);
}

int
forwarder_setting(const char *path, const char *value)
{
	char tail[256];
	int n = snprintf(tail, sizeof(tail), "%s%c%s", path, '\0', value);

	if (n < 0 || (size_t)n >= sizeof(tail))
		return -ENAMETOOLONG;
	return tail_call(FORWARDER_MAIN, FORWARDER_SETTING, tail, (size_t)n + 1);
}

void
forwarder_icmp_source(uint16_t port, enum afi afi, const struct ip_addr *addr)
{
	struct forwarder_port_answer a;

	(void)port_call(FORWARDER_HOST, FORWARDER_ICMP_SOURCE,
		&(struct forwarder_port){.port = port, .afi = afi, .addr = *addr}, &a);
}

unsigned
forwarder_gleans(struct glean *out, unsigned max)
{
	struct forwarder_message m;
	unsigned n = 0;
	size_t body;

	if (max < FORWARDER_GLEANS_MAX || forwarder_receive(used->channel[FORWARDER_EVENTS].fd, &m,
						  &body, NULL, 0, NULL, NULL, 0, NULL) != 0)
		return 0;
	for (; n < m.gleans.count && n < FORWARDER_GLEANS_MAX; n++)
		out[n] = m.gleans.glean[n];
	return n;
}
