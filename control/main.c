/* SPDX-License-Identifier: BSD-3-Clause */
/* keeld: options, exit codes, start and stop in order. */
#include "control/apply/apply.h"
#include "control/apply/audits.h"
#include "control/apply/commit.h"
#include "control/apply/jobs.h"
#include "control/apply/memory_guard.h"
#include "control/bmp/bmp.h"
#include "control/mrt/mrt.h"
#include "control/host/host_check.h"
#include "control/host/host_routes.h"
#include "control/keeld.h"
#include "control/base/log.h"
#include "control/base/service.h"
#include "control/host/netlink.h"
#include "control/rpc/rpc.h"
#include "control/rpki/rpki.h"
#include "control/base/threads.h"
#include "control/base/watchdog.h"
#include "control/wiring.h"
#include "lpm/arena.h"
#include "lpm/note_work.h"
#include "lpm/fib.h"
#include "lpm/hash.h"
#ifdef KEEL_DATAPLANE
#include "control/forwarding.h"
#include "control/rights.h"
#endif

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
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
#define LOG_END_NS 1000000000u /* limit for writing the last lines */
#define DEFAULT_SOCKET "/run/keel/keel.sock"
#define DEFAULT_STATE_DIR "/var/lib/keel"

/*
 * Also the source of keeld(8) and of the completions (scripts/reference). Terminated by .name NULL
 * and .text NULL.
 */
static const struct program_option {
	const char *name, *value; /* value NULL: no argument */
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
	{"forwarder", "PATH", 'f',
		"Ports and workers are in keelfwd, which listens at PATH. A\n"
		"running keelfwd is adopted, otherwise keeld starts one.\n"
		"keelfwd goes on when keeld ends."},
	{"user", "NAME", 'u',
		"With --forwarder, started as root: the user of keeld after\nthe start. Default: "
		"keel, if the user exists; root: no change."},
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

/* -1: continue; otherwise the exit status. */
static int
parse_options(struct keeld *k, int argc, char **argv)
{
	struct option options[OPTIONS_MAX] = {{0}};
	int c, level;

	/* the first option, -c, is short */
	for (unsigned i = 1; program_options[i].name != NULL && i < OPTIONS_MAX; i++)
		options[i - 1] = (struct option){program_options[i].name,
			program_options[i].value != NULL, NULL, program_options[i].letter};
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			k->config_file = optarg;
			break;
		case 'C':
			k->check_only = true;
			break;
		case 's':
			k->socket_option = optarg;
			break;
		case 'f':
			k->forwarder_socket = optarg;
			break;
		case 'u':
			k->user = optarg;
			break;
		case 'n':
			k->no_dataplane = true;
			break;
		case 'd':
			k->state_dir = optarg;
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
	if (optind < argc || k->config_file == NULL) {
		if (optind < argc)
			fprintf(stderr, "keeld: \"%s\" is not an option\n", argv[optind]);
		else
			fputs("keeld: -c FILE is missing\n", stderr);
		return bad_usage();
	}
	return -1;
}

#ifdef KEEL_DATAPLANE
#define SPEAKER_SUFFIX "-bgp"

/*
 * keeld --no-dataplane continues as keeld-bgp, the same program without the libraries of the data
 * plane: these take 4 MB of memory. Returns if keeld-bgp is not installed beside keeld.
 */
static void
continue_as_speaker(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

	if (n <= 0 || (size_t)n + sizeof(SPEAKER_SUFFIX) > sizeof(path))
		return;
	memcpy(path + n, SPEAKER_SUFFIX, sizeof(SPEAKER_SUFFIX));
	(void)execv(path, argv);
}
#endif

/* Prints one line, with the characters of the document escaped. */
static void
print_fault(const struct keeld *k, const struct fault *f)
{
	if (!f->of_file)
		fprintf(stderr, "%s: ", k->config_file);
	for (const char *p = f->path; *p != '\0'; p++)
		fprintf(stderr, iscntrl((unsigned char)*p) ? "\\u%04X" : "%c", (unsigned char)*p);
	fprintf(stderr, ": %s\n", f->reason);
}

/* Parses FILE. NULL: the faults are on stderr. */
static struct config *
load_config(const struct keeld *k)
{
	struct config *c = NULL;
	struct faults f = {0};
	char *message = NULL;
	json_t *document = k->check_only ? config_load_any(k->config_file, &message, &f)
					 : config_load(k->config_file, &message, &f);

	if (document != NULL)
		c = config_parse(k->host, document, &f);
	if (message != NULL)
		fprintf(stderr, "%s\n", message);
	for (unsigned i = 0; i < f.count; i++)
		print_fault(k, &f.fault[i]);
	free(message);
	faults_fini(&f);
	json_decref(document);
	return c;
}

/* Creates the folders above `path`; with is_folder also `path`. */
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
/*
 * Default of control_cpus: every permitted CPU without a worker, or all if every CPU has a worker.
 */
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
#endif

/* ---- memory ---- */

/*
 * Interval of arena_decay(). An idle arena returns freed pages only on request. Without the requests
 * keeld would keep some hundred megabytes after the loss of a full table.
 */
#define DECAY_NS 1000000000u

static void
return_memory(struct timer *t)
{
	struct keeld *k = (struct keeld *)(void *)((char *)t - offsetof(struct keeld, decay));

	arena_decay();
	timer_arm(k->layers.main_thread, t, DECAY_NS);
}

/* ---- signals ---- */

static void
signal_ready(struct watch *w, uint32_t events) RUNS_ON(role_main)
{
	struct keeld *k = (struct keeld *)(void *)((char *)w - offsetof(struct keeld, signals));
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			note_work("reload of FILE");
			service_reloading();
			apply_reload(k->apply);
			service_notify("READY=1");
		} else {
#ifdef KEEL_DATAPLANE
			if (si.ssi_signo == SIGINT)
				forwarding_leave(k);
#endif
			thread_quit(k->layers.main_thread);
		}
	}
}

/*
 * Called before any thread starts: all threads inherit the mask, so that signals arrive by the
 * descriptor only.
 */
static int
block_signals(struct keeld *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	k->signals = (struct watch){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = signal_ready};
	return k->signals.fd >= 0 ? 0 : -errno;
}

/* ---- start and stop ---- */

static void
report(void *ctx, const char *topic, json_t *members) RUNS_ON(role_main)
{
	struct keeld *k = ctx;

	if (k->rpc != NULL)
		rpc_event(k->rpc, topic, members);
	else
		json_decref(members);
}

/* Creates the objects that do not need the layers. Takes over `running`. 0, -errno. */
static int
create_objects(struct keeld *k, struct config *running) RUNS_ON(role_main)
{
	struct apply_config c = {.host = k->host,
		.layers = &k->layers,
		.config_file = k->config_file,
		.state_dir = k->state_dir,
		.running = running,
		.report = report,
		.report_ctx = k,
		.watch = wiring_watch,
		.unwatch = wiring_unwatch,
		.peer = wiring_peer,
		.tunnels = wiring_tunnels,
		.ports = k->no_dataplane ? NULL : wiring_ports,
		.watch_ctx = k};
	struct rpki_config r = {.layers = &k->layers, .report = report, .ctx = k};
	struct bmp_config b = {.layers = &k->layers, .version = KEEL_VERSION};
	int e = -ENOMEM;

	k->jobs = c.jobs = jobs_create();
	if (k->jobs != NULL && (e = rpki_create(&r, &k->rpki)) == 0 &&
		(e = bmp_create(&b, &k->bmp)) == 0 && (e = mrt_create(&k->layers, &k->mrt)) == 0 &&
		(e = audits_create(&k->layers, &k->audits)) == 0 &&
		(e = host_routes_create(&k->layers, &k->host_routes)) == 0) {
		c.host_routes = k->host_routes;
		c.rpki = k->rpki;
		c.bmp = k->bmp;
		c.mrt = k->mrt;
		e = apply_create(&c, &k->apply);
	}
	if (e != 0)
		config_free(running);
	return e;
}

static int
start_rpc(struct keeld *k) RUNS_ON(role_main)
{
	struct rpc_config c = {.socket = k->socket,
		.host = k->host,
		.layers = &k->layers,
		.apply = k->apply,
		.jobs = k->jobs,
		.audits = k->audits,
		.guard = k->guard,
		.watchdog = k->watchdog,
		.config_file = k->config_file,
		.started_ns = k->started_ns};
	int e = rpc_create(&c, &k->rpc);

	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=rpc socket=%s error=\"%s\"", k->socket,
			strerror(-e));
	return e;
}

/* Starts the thread of the log. 0, -errno (logged). */
static int
start_log(const struct thread_config *c)
{
	int e = log_start(c->cpus, c->cpu_count);

	if (e != 0)
		log_event(LOG_ERROR, "start-failed part=log error=\"%s\"", strerror(-e));
	return e;
}

static int
start(struct keeld *k, struct config *running) RUNS_ON(role_main)
{
	struct thread_config main_config = {.name = "keeld"};
	int e;

	if (k->state_dir == NULL)
		k->state_dir = DEFAULT_STATE_DIR;
	/* Copied, because the running configuration may be replaced. */
	k->socket = strdup(k->socket_option != NULL  ? k->socket_option
			   : running->socket != NULL ? running->socket
						     : DEFAULT_SOCKET);
	if ((e = create_objects(k, running)) != 0)
		return e;
	if (k->socket == NULL)
		return -ENOMEM;
#ifdef KEEL_DATAPLANE
	if (!k->no_dataplane && (e = default_control_cpus(running)) != 0)
		return e;
#endif
	main_config.cpus = running->dataplane.control_cpus;
	main_config.cpu_count = running->dataplane.control_count;
	if ((e = block_signals(k)) != 0) {
		log_event(LOG_ERROR, "start-failed part=signals error=\"%s\"", strerror(-e));
		return e;
	}
	/* Otherwise later: a thread inherits the rights of its creator. */
	if (k->forwarder_socket == NULL && (e = start_log(&main_config)) != 0)
		return e;
	if ((e = make_folders(k->state_dir, true)) != 0 ||
		(e = make_folders(k->socket, false)) != 0) {
		log_event(LOG_ERROR, "start-failed part=folders error=\"%s\"", strerror(-e));
		return e;
	}
#ifdef KEEL_DATAPLANE
	if (k->forwarder_socket != NULL && (e = keeld_rights_check(k)) != 0)
		return e;
#endif
	apply_netns_begin(k->apply, !k->no_dataplane);
#ifdef KEEL_DATAPLANE
	if (!k->no_dataplane && (e = forwarding_open(k)) != 0)
		return e;
#endif
	/*
	 * EAL moved this thread to its main lcore; thread_adopt() pins the thread to control_cpus.
	 */
	if ((e = thread_adopt(&main_config, &k->layers.main_thread)) != 0 ||
		(e = wiring_create(k)) != 0)
		return e;
#ifdef KEEL_DATAPLANE
	/* No thread besides main exists. */
	if (k->forwarder != NULL &&
		((e = keeld_rights_limit(k)) != 0 || (e = start_log(&main_config)) != 0))
		return e;
#endif
	if ((e = watchdog_create(main_config.cpus, main_config.cpu_count, &k->watchdog)) != 0) {
		log_event(LOG_ERROR, "start-failed part=watchdog error=\"%s\"", strerror(-e));
		return e;
	}
	/*
	 * The RPC socket is opened before the sessions start: a second keeld with the same socket
	 * ends here, before it disturbs a peer.
	 */
	if ((e = memory_guard_create(&k->layers, apply_peers(k->apply), &k->guard)) != 0 ||
		(e = start_rpc(k)) != 0 || (e = wiring_start(k)) != 0)
		return e;
#ifdef KEEL_DATAPLANE
	if (k->layers.fib != NULL) {
		wiring_set_addresses(k, VRF_DEFAULT, k->layers.netlink);
		wiring_ports_watch(k);
		if ((e = forwarding_start(k)) != 0)
			return e;
	}
#endif
	k->decay.fire = return_memory;
	if ((e = timer_arm(k->layers.main_thread, &k->decay, DECAY_NS)) != 0)
		return e;
	if ((e = apply_start(k->apply)) != 0 ||
		(e = watch_set(k->layers.main_thread, &k->signals, EPOLLIN)) != 0)
		return e;
	if ((e = rpc_start(k->rpc, k->layers.main_thread)) != 0)
		return e;
#ifdef KEEL_DATAPLANE
	if (k->forwarder != NULL)
		return keeld_calls_limit(k);
#endif
	return 0;
}

static void
stop(struct keeld *k) RUNS_ON(role_main)
{
	/*
	 * Finish the open commit: its client gets an answer, and the threads of the commit still
	 * run.
	 */
	if (k->apply != NULL)
		apply_commit_finish(k->apply);
	if (k->rpc != NULL)
		rpc_destroy(k->rpc);
	k->rpc = NULL;
	watchdog_destroy(k->watchdog);
	wiring_stop(k);
	mrt_destroy(k->mrt);
	memory_guard_destroy(k->guard);
#ifdef KEEL_DATAPLANE
	forwarding_stop(k);
#endif
	host_routes_destroy(k->host_routes);
	wiring_destroy(k);
	audits_destroy(k->audits);
#ifdef KEEL_DATAPLANE
	forwarding_close(k);
#endif
	apply_destroy(k->apply);
	if (k->layers.main_thread != NULL)
		thread_free(k->layers.main_thread);
	if (k->jobs != NULL)
		jobs_destroy(k->jobs);
	bmp_destroy(k->bmp);
	rpki_destroy(k->rpki); /* jobs of apply hold VRPs */
	free(k->socket);
	host_check_destroy(k->host);
	(void)log_end(LOG_END_NS);
}

/* Seeds the hash tables, before any table exists and before the first document is parsed. */
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
	/*
	 * jansson takes 32 bits; a seed of 0 makes jansson draw one. The order of keys does not
	 * depend on the seed: objects keep insertion order.
	 */
	json_object_seed((uint32_t)hash_bytes("jansson", 7));
	return 0;
}

int
main(int argc, char **argv)
{
	char folder[4096]; /* of FILE */
	struct keeld k = {0};
	int status = parse_options(&k, argc, argv);
	struct config *c;
	int e;

	if (status >= 0)
		return status;
	role_enter_main();
#ifdef KEEL_DATAPLANE
	if (k.no_dataplane)
		continue_as_speaker(argv);
#endif
	pthread_setname_np(pthread_self(), "keeld"); /* also of keeld-bgp */
	if (hashes_init() != 0)
		return EXIT_RUN_TIME;
#ifndef KEEL_DATAPLANE
	k.no_dataplane = true;
#endif
	k.host = host_check_create(k.no_dataplane);
	if (k.host == NULL)
		return EXIT_RUN_TIME;
	snprintf(folder, sizeof(folder), "%s", k.config_file);
	if (strrchr(folder, '/') != NULL) {
		strrchr(folder, '/')[1] = '\0';
		k.host->folder = folder;
	}
	c = load_config(&k);
	if (c == NULL || k.check_only) {
		config_free(c);
		host_check_destroy(k.host);
		return c != NULL ? EXIT_STOPPED : EXIT_USAGE;
	}
	k.started_ns = now_ns();
	e = service_open();
	if (e != 0) {
		log_event(LOG_ERROR, "start-failed part=notify-socket error=\"%s\"", strerror(-e));
		config_free(c);
#ifdef KEEL_DATAPLANE
	} else if (k.forwarder_socket != NULL && (e = keeld_user_set(&k)) != 0) {
		config_free(c);
#endif
	} else {
		e = start(&k, c);
	}
	if (e == 0) {
		log_event(LOG_INFO, "keeld-up version=%s asn=%u socket=%s dataplane=%s",
			KEEL_VERSION, apply_running(k.apply)->asn, k.socket,
			k.no_dataplane ? "no" : "yes");
		service_notify("READY=1");
		thread_run(k.layers.main_thread);
		service_notify("STOPPING=1");
		log_event(LOG_INFO, "keeld-stopping");
	}
	stop(&k);
	return e == 0 && !k.failed ? EXIT_STOPPED : EXIT_RUN_TIME;
}
