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
#include "lpm/base/arena.h"
#include "lpm/base/note_work.h"
#include "lpm/fib.h"
#include "lpm/base/hash.h"
#include "control/forwarding.h"
#include "control/rights.h"

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
#define FILES_END_NS 5000000000u /* limit for writing the files of commits */
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
		"for each fault on standard error, and exits. A device or an\n"
		"interface that this host lacks is a warning: its port waits."},
	{"socket", "PATH", 's',
		"JSON-RPC socket. Default: management.socket in FILE, then\n" DEFAULT_SOCKET
		". The read-only socket is PATH.ro."},
	{"forwarder", "PATH", 'f',
		"Socket of keelfwd, which has the ports and workers. A\n"
		"running keelfwd is adopted, otherwise keeld starts one.\n"
		"Default: the RPC socket with .fwd; with a socket of FILE,\n"
		"keelfwd.sock in the state directory."},
	{"user", "NAME", 'u',
		"Started as root, with ports: the user of keeld after the\nstart. Default: "
		"keel, if the user exists; root: no change."},
	{"forwarder-user", "NAME", 'w',
		"Started as root: the user of keelfwd. Default:\nkeel-forwarder, "
		"if the user exists; otherwise keelfwd stays\nroot."},
	{"permit", "TEXT", 'P',
		"Permits keelfwd an argument of eal_args, or a device. Only\na FILE of "
		"root permits its own. May be repeated."},
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
	{EXIT_STOPPED, "Stopped in order by SIGTERM or SIGINT; or the check found no fault, but "
		       "perhaps warnings."},
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
		case 'w':
			k->forwarder_user = optarg;
			break;
		case 'P':
			if (k->permit_count == KEELD_PERMITS_MAX) {
				fprintf(stderr, "keeld: more than %u options --permit\n",
					KEELD_PERMITS_MAX);
				return EXIT_USAGE;
			}
			k->permits[k->permit_count++] = optarg;
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

static void
print_warning(void *ctx, const struct fault *f)
{
	print_fault(ctx, f);
}

/*
 * A start whose policy files are unfinished or missing takes the texts of the last commit, as a running keeld keeps them. NULL: there
 * are none, or FILE has other faults as well.
 */
static struct config *
load_last_texts(const struct keeld *k, json_t *document, const struct faults *f) RUNS_ON(role_main)
{
	json_t *texts = document != NULL && !k->check_only ? apply_last_texts(k->state_dir) : NULL;
	char path[512], reason[512];
	struct faults more = {0};
	struct config *c = NULL;

	if (json_object_size(texts) > 0)
		c = config_parse_with(k->host, document, texts, NULL, &more);
	for (unsigned i = 0; c != NULL && i < f->count; i++) {
		const struct fault *one = &f->fault[i];

		log_event(LOG_ERROR, "policy-file-faulty path=%s reason=%s",
			log_escape(one->path, strlen(one->path), path, sizeof(path)),
			log_escape(one->reason, strlen(one->reason), reason, sizeof(reason)));
	}
	faults_fini(&more);
	json_decref(texts);
	return c;
}

/* Parses FILE. NULL: the faults are on stderr. */
static struct config *
load_config(const struct keeld *k) RUNS_ON(role_main)
{
	struct config *c = NULL;
	struct faults f = {0};
	char *message = NULL;
	json_t *document = k->check_only ? config_load_any(k->config_file, &message, &f)
					 : config_load(k->config_file, &message, &f);

	if (document != NULL)
		c = config_parse(k->host, document, &f);
	if (c == NULL)
		c = load_last_texts(k, document, &f);
	if (message != NULL)
		fprintf(stderr, "%s\n", message);
	for (unsigned i = 0; c == NULL && i < f.count; i++)
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
	char buf[4096 + 16];
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
reloaded(void)
{
	service_notify("READY=1");
}

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
			apply_reload_signal(k->apply, reloaded);
		} else {
			k->leaves |= si.ssi_signo == SIGINT; /* SIGTERM may follow */
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

/* The path of the socket comes from the command line, or is the default; not from the document. */
static bool
socket_is_own(const struct keeld *k, const struct config *c)
{
	return k->socket_option != NULL || c->socket == NULL;
}

/*
 * keelfwd may start as root, and the user of keeld may write the document: a path of the document is not
 * for keelfwd. -ENOMEM.
 */
static int
find_forwarder(struct keeld *k, bool beside)
{
	const char *path = beside ? k->socket : k->state_dir;

	if (k->forwarder_socket != NULL)
		return 0;
	if (asprintf(&k->forwarder_default, "%s%s", path, beside ? ".fwd" : "/keelfwd.sock") < 0)
		return -ENOMEM;
	k->forwarder_socket = k->forwarder_default;
	return 0;
}

static int
start(struct keeld *k, struct config *running) RUNS_ON(role_main)
{
	struct thread_config main_config = {.name = "keeld"};
	int e;

	/* Copied, because the running configuration may be replaced. */
	k->socket = strdup(k->socket_option != NULL  ? k->socket_option
			   : running->socket != NULL ? running->socket
						     : DEFAULT_SOCKET);
	if ((e = create_objects(k, running)) != 0)
		return e;
	if (k->socket == NULL || (e = find_forwarder(k, socket_is_own(k, running))) != 0)
		return -ENOMEM;
	if (!k->no_dataplane && (e = default_control_cpus(running)) != 0)
		return e;
	main_config.cpus = running->dataplane.control_cpus;
	main_config.cpu_count = running->dataplane.control_count;
	if ((e = block_signals(k)) != 0) {
		log_event(LOG_ERROR, "start-failed part=signals error=\"%s\"", strerror(-e));
		return e;
	}
	/* Otherwise later: a thread inherits the rights of its creator. */
	if (k->no_dataplane && (e = start_log(&main_config)) != 0)
		return e;
	if ((e = make_folders(k->state_dir, true)) != 0 ||
		(socket_is_own(k, running) && (e = make_folders(k->socket, false)) != 0)) {
		log_event(LOG_ERROR, "start-failed part=folders error=\"%s\"", strerror(-e));
		return e;
	}
	if (!k->no_dataplane && (e = keeld_rights_check(k)) != 0)
		return e;
	apply_netns_begin(k->apply, !k->no_dataplane);
	if (!k->no_dataplane && (e = forwarding_open(k)) != 0)
		return e;
	if ((e = thread_adopt(&main_config, &k->layers.main_thread)) != 0 ||
		(e = wiring_create(k)) != 0)
		return e;
	/* No thread besides main exists. */
	if (!k->no_dataplane &&
		((e = keeld_rights_limit(k)) != 0 || (e = start_log(&main_config)) != 0))
		return e;
	/* The document names these folders: the user of keeld must have the right to make them. */
	if (!socket_is_own(k, running) && (e = make_folders(k->socket, false)) != 0) {
		log_event(LOG_ERROR, "start-failed part=folders error=\"%s\"", strerror(-e));
		return e;
	}
	if ((e = make_folders(running->output_dir, true)) != 0)
		log_event(LOG_WARNING, "output-failed folder=%s error=\"%s\"", running->output_dir,
			strerror(-e));
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
	if (k->layers.fib != NULL) {
		wiring_set_addresses(k, VRF_DEFAULT, k->layers.netlink);
		wiring_ports_watch(k);
		if ((e = forwarding_start(k)) != 0)
			return e;
	}
	k->decay.fire = return_memory;
	if ((e = timer_arm(k->layers.main_thread, &k->decay, DECAY_NS)) != 0)
		return e;
	if ((e = apply_start(k->apply)) != 0 ||
		(e = watch_set(k->layers.main_thread, &k->signals, EPOLLIN)) != 0)
		return e;
	if ((e = rpc_start(k->rpc, k->layers.main_thread)) != 0)
		return e;
	return k->no_dataplane ? 0 : keeld_calls_limit(k);
}

static void
stop(struct keeld *k) RUNS_ON(role_main)
{
	/*
	 * Finish the open commit: its client gets an answer, and the threads of the commit still
	 * run.
	 */
	if (k->apply != NULL)
		apply_files_end(k->apply, FILES_END_NS);
	if (k->rpc != NULL)
		rpc_destroy(k->rpc);
	k->rpc = NULL;
	watchdog_destroy(k->watchdog);
	forwarding_leave(k);
	wiring_stop(k);
	mrt_destroy(k->mrt);
	memory_guard_destroy(k->guard);
	forwarding_stop(k);
	host_routes_destroy(k->host_routes);
	wiring_destroy(k);
	audits_destroy(k->audits);
	forwarding_close(k);
	apply_destroy(k->apply, k->stays);
	if (k->layers.main_thread != NULL)
		thread_free(k->layers.main_thread);
	if (k->jobs != NULL)
		jobs_destroy(k->jobs);
	bmp_destroy(k->bmp);
	rpki_destroy(k->rpki); /* jobs of apply hold VRPs */
	free(k->socket);
	free(k->forwarder_default);
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
	char output[4096 + 8]; /* default of management.output_dir */
	struct keeld k = {0};
	int status = parse_options(&k, argc, argv);
	struct config *c;
	int e;

	if (status >= 0)
		return status;
	role_enter_main();
	if (hashes_init() != 0)
		return EXIT_RUN_TIME;
	if (k.state_dir == NULL)
		k.state_dir = DEFAULT_STATE_DIR;
	k.host = host_check_create(k.no_dataplane);
	if (k.host == NULL)
		return EXIT_RUN_TIME;
	snprintf(output, sizeof(output), "%s/output", k.state_dir);
	k.host->output_dir = output;
	snprintf(folder, sizeof(folder), "%s", k.config_file);
	if (strrchr(folder, '/') != NULL) {
		strrchr(folder, '/')[1] = '\0';
		k.host->folder = folder;
	} else {
		k.host->folder = ".";
	}
	(void)lstat(k.config_file, &k.file_seen);
	c = load_config(&k);
	if (c != NULL && k.check_only)
		host_check_devices(k.host, c, print_warning, &k);
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
	} else if (!k.no_dataplane && (e = keeld_user_set(&k)) != 0) {
		config_free(c);
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
	k.failed |= e != 0;
	stop(&k);
	return k.failed ? EXIT_RUN_TIME : EXIT_STOPPED;
}
