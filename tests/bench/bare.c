/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bare: minimal loops for comparison with a worker: their delays belong to the machine.
 *
 *   bare gaps --cpu N                             polls the clock only
 *   bare relay --cpu N --from NETNS:IFACE --to NETNS:IFACE    receives frames from the first and sends to the second interface, with new addresses
 *   bare memory --cpu N [--mb N]                  reads and writes N MB at random
 *   bare memory --cpu N [--mb N] --lab FILE [--run-ms N] [--rest-ms N]    runs 60 ms, sleeps 180 ms, in turns; further
 *                                                 work on the CPU stands still during a run. Counts frames of the lab ports of FILE (lab_ports.c) in each
 *                                                 part, without the first 20 ms, because the caches still hold data of the previous part
 *
 * Each loop is pinned to its CPU with nice -20 (memory: unchanged; with --lab: real-time priority). Commands on standard
 * input, one a line:
 *   report   {"event": "report", "seconds", "turns", "gap_ns": {count, p50, p99, p999, max}: between two readings of the clock, of `gaps` and
 *            `relay`; "frames": of `relay`, "refused": frames refused by the second interface; "running", "resting": {"ns", "frames", "turns"}, of
 *            --lab, of whole parts} since the last report
 *   stop, go (idle in between, without using the CPU)
 *   quit
 */
#include "lpm/base/hist.h"
#include "lpm/base/inspect.h"
#include "lpm/base/prefix.h"
#include "tests/bench/netns.h"
#include "tests/bench/tool.h"
#include "tests/dataplane/lab_port.h"
#include "tests/lpm/tick.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define LOOK_NS 20000000u /* at standard input */
#define STEPS 4096u /* memory accesses between two readings of the clock */
#define FRAME_MAX 2048
#define SETTLE_NS 20000000u
#define SETTLE_MS (SETTLE_NS / 1000000u)
/* The kernel reserves a part of each second from real-time threads. */
#define RUN_MS_MAX 500u
#define REST_MS_MAX 60000u

static struct {
	const char *from, *to, *lab;
	uint32_t cpu, mb, run_ms, rest_ms;
} opt = {.cpu = UINT32_MAX, .mb = 512, .run_ms = 60, .rest_ms = 180};

static struct hist gaps;
static uint64_t begin_ns, turns, frames, refused;
static bool stopped;

/* Frames of the lab ports during runs and rests. */
static struct {
	struct lab_shared *shared;
	uint64_t at_ns, at_seen, at_turns; /* begin of this run or rest */
	uint64_t begin_ns; /* of this run; 0: none */
	bool settled;
	struct lab_part {
		uint64_t ns, frames, turns;
	} running, resting;
} lab;

/* ---- by turns ---- */

/* Adds the counts since the last call to `part` (NULL: drops the counts). */
static void
lab_account(struct lab_part *part)
{
	unsigned ports = atomic_load_explicit(&lab.shared->taken, memory_order_relaxed);
	uint64_t seen = 0, now = tick_now_ns();

	for (unsigned i = 0; i < ports; i++)
		seen += lab_count(&lab.shared->side[i].seen);
	if (part != NULL) {
		part->ns += now - lab.at_ns;
		part->frames += seen - lab.at_seen;
		part->turns += turns - lab.at_turns;
	}
	lab.at_ns = now;
	lab.at_seen = seen;
	lab.at_turns = turns;
}

static void
lab_rest(uint64_t from_ns)
{
	tick_until(from_ns + SETTLE_NS);
	lab_account(NULL);
	tick_until(from_ns + opt.rest_ms * UINT64_C(1000000));
	lab_account(&lab.resting);
}

/* Called in a loop during a run. */
static void
lab_turn(void)
{
	uint64_t end_ns = lab.begin_ns + opt.run_ms * UINT64_C(1000000), now = tick_now_ns();

	if (lab.begin_ns != 0 && now < end_ns) {
		if (!lab.settled && now >= lab.begin_ns + SETTLE_NS) {
			lab_account(NULL);
			lab.settled = true;
		}
		return;
	}
	if (lab.begin_ns != 0) {
		lab_account(&lab.running);
		lab_rest(end_ns);
	}
	lab.begin_ns = tick_now_ns();
	lab.settled = false;
}

static void
counts_reset(void)
{
	hist_reset(&gaps);
	turns = frames = refused = lab.at_turns = 0;
	lab.running = lab.resting = (struct lab_part){0};
}

/* ---- commands ---- */

static void
put_part(const char *name, const struct lab_part *part)
{
	printf(", \"%s\": {\"ns\": %llu, \"frames\": %llu, \"turns\": %llu}", name,
		(unsigned long long)part->ns, (unsigned long long)part->frames,
		(unsigned long long)part->turns);
}

static void
report(void)
{
	const struct hist *all[1] = {&gaps};
	struct hist_summary g;
	uint64_t now = tick_now_ns();

	hist_summarize(all, 1, &g);
	printf("{\"event\": \"report\", \"seconds\": %.6f, \"turns\": %llu, \"frames\": %llu, "
	       "\"refused\": %llu, \"gap_ns\": {\"count\": %llu, \"p50\": %llu, \"p99\": %llu, "
	       "\"p999\": %llu, \"max\": %llu}",
		(double)(now - begin_ns) / 1e9, (unsigned long long)turns,
		(unsigned long long)frames, (unsigned long long)refused,
		(unsigned long long)g.count, (unsigned long long)g.p50, (unsigned long long)g.p99,
		(unsigned long long)g.p999, (unsigned long long)g.max);
	put_part("running", &lab.running);
	put_part("resting", &lab.resting);
	printf("}\n");
	counts_reset();
	begin_ns = now;
}

static bool
command(char *line)
{
	if (strcmp(line, "quit") == 0)
		return false;
	if (strcmp(line, "report") == 0)
		report();
	else if (strcmp(line, "stop") == 0 || strcmp(line, "go") == 0)
		printf("{\"event\": \"done\", \"command\": \"%s\"}\n", line);
	else
		printf("{\"event\": \"error\", \"reason\": \"command\"}\n");
	if (strcmp(line, "stop") == 0)
		stopped = true;
	if (strcmp(line, "go") == 0) {
		stopped = false;
		counts_reset();
		lab.begin_ns = 0;
		begin_ns = tick_now_ns();
	}
	fflush(stdout);
	return true;
}

/* False: end of commands. Waits here while stopped. */
static bool
look(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	do {
		if (poll(&in, 1, stopped ? -1 : 0) > 0 && !commands_read(command))
			return false;
	} while (stopped);
	return true;
}

/* ---- loops ---- */

/* Runs turn(ctx) in a loop and records the time between turns, without reads of standard input. */
static void
loop(void (*turn)(void *ctx), void *ctx)
{
	uint64_t last = tick_now_ns(), look_ns = last;

	begin_ns = last;
	for (;;) {
		uint64_t now = tick_now_ns();

		hist_add(&gaps, now - last);
		last = now;
		turns++;
		turn(ctx);
		if (now < look_ns)
			continue;
		if (!look())
			return;
		last = tick_now_ns();
		look_ns = last + LOOK_NS;
	}
}

static void
turn_nothing(void *ctx)
{
	(void)ctx;
}

struct relay {
	int from, to;
	struct sockaddr_ll out;
};

static int
open_packet(const char *spec, int *index)
{
	const char *iface = enter_netns_of(spec);
	struct sockaddr_ll sa = {.sll_family = AF_PACKET};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = 8 << 20;

	*index = (int)if_nametoindex(iface);
	sa.sll_ifindex = *index;
	sa.sll_protocol = htons(ETH_P_IP);
	if (fd < 0 || *index == 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		die(spec, errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return fd;
}

static void
turn_relay(void *ctx)
{
	struct relay *r = ctx;
	uint8_t frame[FRAME_MAX];
	ssize_t n = recv(r->from, frame, sizeof(frame), 0);

	if (n < ETH_HLEN)
		return;
	frame[0] = 2; /* unused: the stack of the far end ignores the frame */
	frames++;
	refused +=
		sendto(r->to, frame, (size_t)n, 0, (struct sockaddr *)&r->out, sizeof(r->out)) != n;
}

struct memory {
	uint64_t *word, mask, state;
};

static void
turn_memory(void *ctx)
{
	struct memory *m = ctx;

	for (unsigned i = 0; i < STEPS; i++) {
		m->state = hash_mix(m->state + 0x9e3779b97f4a7c15u);
		m->word[m->state & m->mask] ^= m->state;
	}
	if (lab.shared != NULL)
		lab_turn();
}

/* ---- start ---- */

static void
pin(bool first)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(opt.cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		die("--cpu", errno);
	if (first && setpriority(PRIO_PROCESS, 0, -20) != 0)
		die("nice", errno);
}

static void
run_relay(void)
{
	struct relay r = {.out = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN}};
	int index;

	r.from = open_packet(opt.from, &index);
	r.to = open_packet(opt.to, &r.out.sll_ifindex);
	loop(turn_relay, &r);
}

static void
run_memory(void)
{
	size_t size = 1u << 20;
	struct memory m = {.state = 1};

	while (size < (size_t)opt.mb << 20)
		size <<= 1;
	m.word = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.word == MAP_FAILED)
		die("--mb", errno);
	madvise(m.word, size, MADV_HUGEPAGE);
	memset(m.word, 1, size);
	m.mask = size / sizeof(*m.word) - 1;
	if (opt.lab != NULL) {
		lab.shared = lab_shared_open(opt.lab);
		if (lab.shared == NULL)
			die(opt.lab, errno);
		if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}) !=
			0)
			die("real-time priority", errno);
	}
	loop(turn_memory, &m);
}

int
main(int argc, char **argv)
{
	const struct tool_option options[] = {{"cpu", OPTION_U32, &opt.cpu},
		{"mb", OPTION_U32, &opt.mb}, {"from", OPTION_TEXT, &opt.from},
		{"to", OPTION_TEXT, &opt.to}, {"lab", OPTION_TEXT, &opt.lab},
		{"run-ms", OPTION_U32, &opt.run_ms}, {"rest-ms", OPTION_U32, &opt.rest_ms}};
	const char *what = argc > 1 ? argv[1] : "";
	bool relay = strcmp(what, "relay") == 0, memory = strcmp(what, "memory") == 0;

	if (argc > 1)
		options_read(argc - 1, argv + 1, options, sizeof(options) / sizeof(options[0]));
	if ((!relay && !memory && strcmp(what, "gaps") != 0) || opt.cpu >= CPU_SETSIZE ||
		opt.mb == 0 || opt.mb > 65536 || opt.run_ms <= SETTLE_MS ||
		opt.run_ms > RUN_MS_MAX || opt.rest_ms < opt.run_ms || opt.rest_ms > REST_MS_MAX ||
		(opt.lab != NULL && !memory) || (relay && (opt.from == NULL || opt.to == NULL))) {
		fprintf(stderr,
			"bare: gaps, relay or memory, --cpu, for relay --from and --to; --lab is "
			"of memory, --run-ms above %u and up to %u, --rest-ms from that to %u\n",
			SETTLE_MS, RUN_MS_MAX, REST_MS_MAX);
		return 2;
	}
	pin(!memory);
	if (relay)
		run_relay();
	else if (memory)
		run_memory();
	else
		loop(turn_nothing, NULL);
	return 0;
}
