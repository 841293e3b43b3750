/* SPDX-License-Identifier: BSD-3-Clause */
/* keeld: options, exit codes, start and stop in order. */
#include "control/apply/apply.h"
#include "control/host/host_check.h"
#include "control/keeld.h"
#include "control/base/log.h"
#include "control/base/service.h"
#include "control/memory_guard.h"
#include "control/host/netlink.h"
#include "control/rpc/rpc.h"
#include "control/base/threads.h"
#include "control/base/watchdog.h"
#include "control/wiring.h"
#include "lpm/arena.h"
#include "lpm/doing.h"
#include "lpm/fib.h"
#include "lpm/hash.h"
#ifdef KEEL_DATAPLANE
#include "dataplane/port.h"
#include "dataplane/worker.h"
#include "dataplane/xdp.h"
#endif

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_STOPPED 0
#define EXIT_RUN_TIME 1
#define EXIT_USAGE 2
#define FAULTS_SHOWN 16
#define LOG_END_NS 1000000000u /* limit for writing the last lines */
#define DEFAULT_SOCKET "/run/keel/keel.sock"
#define DEFAULT_STATE_DIR "/var/lib/keel"

/* keeld(8) and completions (scripts/reference) are made from these tables, too. They end with .name NULL and .text NULL. */
static const struct program_option {
	const char *name, *value; /* value NULL: takes none */
	int letter;
	const char *help; /* lines of at most 56 columns */
} program_options[] = {
	{"c", "FILE", 'c', "The configuration; keel.json(5) describes it. Required."},
	{"check", NULL, 'C',
		"Checks FILE as a start on this host would, prints one line\n"
		"for each fault on standard error, and exits."},
	{"socket", "PATH", 's',
		"JSON-RPC socket. Default: management.socket in FILE, then\n" DEFAULT_SOCKET
		". The read-only socket is PATH.ro."},
	{"no-dataplane", NULL, 'n',
		"BGP speaker only, without EAL and ports: for a route\nreflector or route server."},
	{"state-dir", "DIR", 'd',
		"Where keeld keeps commits and its run-time files. Default:\n" DEFAULT_STATE_DIR
		"."},
	{"log-level", "LEVEL", 'l',
		"Least level that is logged: error, warning, info (default),\ndebug."},
	{"version", NULL, 'V', "Prints the version."},
	{"help", NULL, 'h', "Prints this help."},
	{0},
};

static const struct program_status {
	int status;
	const char *text;
} program_statuses[] = {
	{EXIT_STOPPED, "Stopped in order by SIGTERM or SIGINT; or the check found no fault."},
	{EXIT_RUN_TIME, "A run-time failure; the log names it."},
	{EXIT_USAGE, "Bad command line, or faults in the configuration."},
	{0},
};

/* PEER_MAX peers make it too large for a stack. */
static struct keeld keeld;
static bool check_only;
static const char *socket_option;

static void
usage(FILE *out)
{
	fputs("usage: keeld -c FILE [options]\n", out);
	for (const struct program_option *o = program_options; o->name != NULL; o++) {
		int n = fprintf(out, "  %s%s %s", o->name[1] != '\0' ? "--" : "-", o->name,
			o->value != NULL ? o->value : "");
		const char *line = o->help;

		for (; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n', n = 0)
			fprintf(out, "%*s%.*s\n", n < 22 ? 22 - n : 1, "", (int)strcspn(line, "\n"),
				line);
	}
	fputs("Exit status:\n", out);
	for (const struct program_status *s = program_statuses; s->text != NULL; s++)
		fprintf(out, "  %d  %s\n", s->status, s->text);
}

static int
bad_usage(void)
{
	usage(stderr);
	return EXIT_USAGE;
}

#define OPTIONS_MAX 16

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv)
{
	struct option options[OPTIONS_MAX] = {{0}};
	int c, level;

	/* the first one, -c, is short */
	for (unsigned i = 1; program_options[i].name != NULL && i < OPTIONS_MAX; i++)
		options[i - 1] = (struct option){program_options[i].name,
			program_options[i].value != NULL, NULL, program_options[i].letter};
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			keeld.config_file = optarg;
			break;
		case 'C':
			check_only = true;
			break;
		case 's':
			socket_option = optarg;
			break;
		case 'n':
			keeld.no_dataplane = true;
			break;
		case 'd':
			keeld.state_dir = optarg;
			break;
		case 'l':
			level = log_level_from_text(optarg);
			if (level < 0) {
				fprintf(stderr,
					"keeld: --log-level: \"%s\" is not one of error, warning, "
					"info, debug\n",
					optarg);
				return EXIT_USAGE;
			}
			log_set_level((enum log_level)level);
			break;
		case 'V':
			printf("keeld %s\n", KEEL_VERSION);
			return EXIT_STOPPED;
		case 'h':
			usage(stdout);
			return EXIT_STOPPED;
		default:
			return bad_usage();
		}
	}
	if (optind < argc || keeld.config_file == NULL) {
		if (optind < argc)
			fprintf(stderr, "keeld: \"%s\" is not an option\n", argv[optind]);
		else
			fputs("keeld: -c FILE is missing\n", stderr);
		return bad_usage();
	}
	return -1;
}

/* One line, whatever a key of the document is made of. */
static void
print_fault(const struct fault *f)
{
	fprintf(stderr, "%s: ", keeld.config_file);
	for (const char *p = f->path; *p != '\0'; p++)
		fprintf(stderr, iscntrl((unsigned char)*p) ? "\\u%04X" : "%c", (unsigned char)*p);
	fprintf(stderr, ": %s\n", f->reason);
}

static int
load_config(void)
{
	struct faults f = {0};
	char *message = NULL;
	json_t *document = config_load(keeld.config_file, &message, &f);

	if (document != NULL)
		keeld.running = config_parse(document, &f);
	if (message != NULL)
		fprintf(stderr, "%s\n", message);
	for (unsigned i = 0; i < f.count; i++)
		print_fault(&f.fault[i]);
	free(message);
	faults_fini(&f);
	if (keeld.running != NULL)
		keeld.candidate = json_deep_copy(document);
	json_decref(document);
	return keeld.running != NULL ? 0 : -EINVAL;
}

/* The folder of `path`, and those above it. */
static int
make_folders(const char *path, bool is_folder)
{
	char buf[512];
	size_t len = strlen(path);

	if (len >= sizeof(buf))
		return -ENAMETOOLONG;
	memcpy(buf, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (buf[i] != '/' && !(buf[i] == '\0' && is_folder))
			continue;
		buf[i] = '\0';
		if (mkdir(buf, 0755) != 0 && errno != EEXIST)
			return -errno;
		buf[i] = path[i];
	}
	return 0;
}

#ifdef KEEL_DATAPLANE
/* Without the key: every CPU we may use that no worker has, or all when workers have them all. */
static int
default_control_cpus(struct config *c)
{
	cpu_set_t allowed;
	unsigned n = 0;

	if (c->dataplane.control_count > 0)
		return 0;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return -errno;
	for (unsigned i = 0; i < c->dataplane.worker_count && CPU_COUNT(&allowed) > 1; i++)
		CPU_CLR(c->dataplane.worker_cpus[i], &allowed);
	free(c->dataplane.control_cpus);
	c->dataplane.control_cpus = calloc(CPU_SETSIZE, sizeof(unsigned));
	if (c->dataplane.control_cpus == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &allowed))
			c->dataplane.control_cpus[n++] = i;
	}
	c->dataplane.control_count = n;
	return 0;
}

static int
start_ports(void)
{
	const struct config *c = keeld.running;
	char name[32];
	struct dataplane_error err = {""};
	struct dataplane_config d = {
		.worker_cpus = c->dataplane.worker_cpus,
		.worker_count = c->dataplane.worker_count,
		.control_cpus = c->dataplane.control_cpus,
		.control_count = c->dataplane.control_count,
		.memory_mb = c->dataplane.memory_mb,
		.eal_args = c->dataplane.eal_args,
		.eal_arg_count = c->dataplane.eal_arg_count,
		.run_dir = keeld.state_dir,
		.name = name,
		.messages = log_stream("dpdk"),
	};
	int e;

	snprintf(name, sizeof(name), "keel-%d", (int)getpid());
	e = dataplane_init(&d, &keeld.huge, &err);
	if (e != 0) {
		log_event(LOG_ERROR, "dataplane-failed error=\"%s\" text=\"%s\"",
			strerrordesc_np(-e), err.text);
		return e;
	}
	for (unsigned i = 0; i < c->port_count; i++) {
		const struct config_port *p = &c->ports[i];
		struct port_config pc = {
			.name = p->name, .device = p->device, .vrf = p->vrf, .mtu = p->mtu};
		uint16_t port;

		e = port_add(&pc, 1, &port, &err);
		if (e != 0) {
			log_event(LOG_ERROR, "port-failed port=%s error=\"%s\" text=\"%s\"",
				p->name, strerrordesc_np(-e), err.text);
			return e;
		}
		if (port_mtu_own(port) > port_mtu(port))
			log_event(LOG_WARNING,
				"port-mtu port=%s interface=%u device=%u text=\"the device drops "
				"frames that are longer than its MTU; set the MTU of the "
				"interface to that of the device\"",
				p->name, port_mtu_own(port), port_mtu(port));
	}
	log_event(LOG_INFO, "dataplane-up dpdk=\"%s\" hugepages=%s ports=%u",
		dataplane_dpdk_version(), keeld.huge ? "yes" : "no", c->port_count);
	return 0;
}

static void
set_addresses(void)
{
	const struct config *c = keeld.running;
	struct netlink_fault faults[FAULTS_SHOWN];

	for (uint16_t i = 0; i < c->port_count; i++) {
		unsigned ifindex = port_ifindex(i);

		if (ifindex == 0)
			continue;
		for (unsigned a = 0; a < c->ports[i].address_count; a++) {
			char text[ADDR_TEXT_MAX];
			int e = netlink_address_add(keeld.netlink, ifindex,
				&c->ports[i].addresses[a].addr, c->ports[i].addresses[a].len);

			if (e != 0)
				log_event(LOG_ERROR,
					"address-not-set port=%s address=%s error=\"%s\"",
					c->ports[i].name,
					addr_format(&c->ports[i].addresses[a].addr, text),
					strerror(-e));
		}
		netlink_link_up(keeld.netlink, ifindex);
	}
	for (unsigned n = netlink_faults(keeld.netlink, faults, FAULTS_SHOWN), i = 0;
		i < n && i < FAULTS_SHOWN; i++)
		log_event(LOG_WARNING, "host-not-set setting=\"%s\" error=\"%s\"", faults[i].what,
			strerror(-faults[i].error));
}

static int
start_workers(void)
{
	struct dataplane_error err = {""};
	struct workers_config w = {
		.arena = keeld.arena_fib,
		.fib = fib_reader(keeld.fib),
		.path_lists = fib_path_lists(keeld.fib),
		.qsbr = keeld.workers,
		.count = keeld.running->dataplane.worker_count,
	};
	int e = workers_start(&w, &err);

	if (e != 0)
		log_event(LOG_ERROR, "workers-failed error=\"%s\" text=\"%s\"", strerrordesc_np(-e),
			err.text);
	return e;
}
#endif

/* ---- memory ---- */

/* A quiet arena gives freed pages back only when somebody asks: after a lost full table that is a hundred megabytes. */
#define DECAY_NS 1000000000u

static struct timer decay_timer;

static void
decay(struct timer *t)
{
	arena_decay();
	timer_arm(keeld.main_thread, t, DECAY_NS);
}

/* ---- signals ---- */

static struct watch signal_watch;

static void
signal_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			doing("reload of FILE");
			service_reloading();
			keeld_reload(&keeld);
			service_notify("READY=1");
		} else {
			thread_quit(keeld.main_thread);
		}
	}
}

/* Before any thread: all inherit the mask, so that signals come by the descriptor only. */
static int
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal_watch = (struct watch){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = signal_ready};
	return signal_watch.fd >= 0 ? 0 : -errno;
}

/* ---- start and stop ---- */

static int
start(void)
{
	struct thread_config main_config = {
		.name = "keeld",
		.cpus = keeld.running->dataplane.control_cpus,
		.cpu_count = keeld.running->dataplane.control_count,
	};
	int e;

#ifdef KEEL_DATAPLANE
	if (!keeld.no_dataplane && (e = default_control_cpus(keeld.running)) != 0)
		return e;
	main_config.cpus = keeld.running->dataplane.control_cpus;
	main_config.cpu_count = keeld.running->dataplane.control_count;
#endif
	if ((e = block_signals()) != 0 ||
		(e = log_start(main_config.cpus, main_config.cpu_count)) != 0) {
		log_event(LOG_ERROR, "start-failed part=log error=\"%s\"", strerror(-e));
		return e;
	}
	if (keeld.state_dir == NULL)
		keeld.state_dir = DEFAULT_STATE_DIR;
	keeld.socket = socket_option != NULL	       ? socket_option
		       : keeld.running->socket != NULL ? keeld.running->socket
						       : DEFAULT_SOCKET;
	if ((e = make_folders(keeld.state_dir, true)) != 0 ||
		(e = make_folders(keeld.socket, false)) != 0) {
		log_event(LOG_ERROR, "start-failed part=folders error=\"%s\"", strerror(-e));
		return e;
	}
	keeld.jobs = jobs_create();
	if (keeld.jobs == NULL)
		return -ENOMEM;
#ifdef KEEL_DATAPLANE
	if (!keeld.no_dataplane && (e = start_ports()) != 0)
		return e;
#endif
	/* EAL moved this thread to its main lcore; adopting pins it to control_cpus. */
	if ((e = thread_adopt(&main_config, &keeld.main_thread)) != 0 ||
		(e = wiring_create(&keeld)) != 0)
		return e;
	if ((e = watchdog_create(main_config.cpus, main_config.cpu_count, &keeld.watchdog)) != 0) {
		log_event(LOG_ERROR, "start-failed part=watchdog error=\"%s\"", strerror(-e));
		return e;
	}
	/* The socket before the sessions: a second keeld with the same socket ends here, before it disturbs anybody. */
	e = rpc_create(&keeld, keeld.socket, &keeld.rpc);
	if (e != 0) {
		log_event(LOG_ERROR, "start-failed part=rpc socket=%s error=\"%s\"", keeld.socket,
			strerror(-e));
		return e;
	}
	if ((e = memory_guard_start(&keeld)) != 0 || (e = wiring_start(&keeld)) != 0)
		return e;
#ifdef KEEL_DATAPLANE
	if (keeld.fib != NULL) {
		set_addresses();
		if ((e = start_workers()) != 0)
			return e;
	}
#endif
	decay_timer.fire = decay;
	if ((e = timer_arm(keeld.main_thread, &decay_timer, DECAY_NS)) != 0)
		return e;
	if ((e = keeld_apply_first(&keeld)) != 0 ||
		(e = watch_set(keeld.main_thread, &signal_watch, EPOLLIN)) != 0)
		return e;
	return rpc_start(keeld.rpc, keeld.main_thread);
}

static void
stop(void)
{
	/* Its client is answered, and the threads that it needs run. */
	keeld_commit_finish(&keeld);
	if (keeld.rpc != NULL)
		rpc_destroy(keeld.rpc);
	watchdog_destroy(keeld.watchdog);
	wiring_stop(&keeld);
	memory_guard_stop(&keeld);
#ifdef KEEL_DATAPLANE
	if (keeld.fib != NULL)
		workers_stop();
#endif
	wiring_destroy(&keeld);
#ifdef KEEL_DATAPLANE
	if (!keeld.no_dataplane)
		dataplane_fini();
#endif
	if (keeld.main_thread != NULL)
		thread_free(keeld.main_thread);
	if (keeld.jobs != NULL)
		jobs_destroy(keeld.jobs);
	keeld_apply_fini(&keeld);
	config_free(keeld.running);
	json_decref(keeld.candidate);
	(void)log_end(LOG_END_NS);
}

/* Secrets of the hash tables: before any table exists, and before the first document is parsed. */
static int
hashes_init(void)
{
	struct hash_key key;
	int e = hash_key_draw(&key);

	if (e != 0) {
		log_event(LOG_ERROR, "start-failed part=random error=\"%s\"", strerror(-e));
		return e;
	}
	hash_key_set(&key);
	/* jansson takes 32 bits; 0 makes it draw a seed itself. The order of keys does not depend on the seed: objects keep insertion order. */
	json_object_seed((uint32_t)hash_bytes("jansson", 7));
	return 0;
}

int
main(int argc, char **argv)
{
	int status = parse_options(argc, argv);
	int e;

	if (status >= 0)
		return status;
	role_enter_main();
	if (hashes_init() != 0)
		return EXIT_RUN_TIME;
#ifndef KEEL_DATAPLANE
	keeld.no_dataplane = true;
#endif
	if (keeld.no_dataplane)
		config_without_dataplane();
	host_check_start(keeld.no_dataplane);
	if (load_config() != 0)
		return EXIT_USAGE;
	if (check_only) {
		config_free(keeld.running);
		json_decref(keeld.candidate);
		return EXIT_STOPPED;
	}
	keeld.revision = keeld.candidate_revision = 1;
	keeld.started_ns = now_ns();
	e = service_open();
	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=notify-socket error=\"%s\"", strerror(-e));
	else
		e = start();
	if (e == 0) {
		log_event(LOG_INFO, "keeld-up version=%s asn=%u socket=%s dataplane=%s",
			KEEL_VERSION, keeld.running->asn, keeld.socket,
			keeld.no_dataplane ? "no" : "yes");
		service_notify("READY=1");
		thread_run(keeld.main_thread);
		service_notify("STOPPING=1");
		log_event(LOG_INFO, "keeld-stopping");
	}
	stop();
	return e == 0 ? EXIT_STOPPED : EXIT_RUN_TIME;
}
