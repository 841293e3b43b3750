/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe: sends numbered, paced packets through a router and records the fate of each packet.
 *
 *   probe --from NETNS --to NETNS:IFACE [--to NETNS:IFACE ...] --destinations FILE --pps N --out DIR [--window W] [--together US]
 *
 * The destinations file has lines `ADDRESS CLASS`, IPv4 and IPv6; a class is a small number. The n-th --to is port n (bit n of masks). Commands on
 * standard input, one a line:
 *   mask CLASS MASK   from now on packets of the class may arrive at these ports
 *   turn CLASS MASK   from now on packets of the class should arrive at these ports only: the report has the time of the first right arrival, and of
 *                     the last wrong arrival (until the next `turn` of the class)
 *   phase NAME        `rest`, `storm` or `link`: the figures that count packets sent from now on. Losses of phase `link` (a failing link) are
 *                     reported apart from `lost`, with the time between the first and the last lost packet
 *   mark TEXT         a line in the plots
 *   report            writes the present figures to DIR/probe.json and continues
 *   stop              stops sending, waits 1 s for missing packets (with --window: after the arrival of the last packet, for which 10 s are left), writes
 *                     DIR/probe.json and DIR/probe.csv, ends
 *
 * --window: a packet leaves at most W packets ahead of the newest arrival, and --pps is the highest rate. On a single path no queue with room for more than W packets
 * overflows, however slow the machine is, so each lost packet is the router's. With several paths, arrivals on one let packets leave for all: the queues of a path that
 * stands still may overflow. While nothing arrives, a packet leaves each 50 ms: an outage is measured in such steps, and fills queues in the end. Without --window the rate
 * does not depend on arrivals, and latencies include what waits for a slow router.
 *
 * Packets that are due within US (200) leave together. A packet is misdirected if no mask between sending and arrival had the port of arrival.
 *
 * Gaps: longest_gap_us is the longest time between two arrivals. longest_gap_beyond_sender_us subtracts the pause of the sender (perhaps without a CPU)
 * between the two packets, so the rest is the router's. While the window is full the sender waits for the router: the first 50 ms of a pause that began so are not
 * the sender's. longest_send_gap_us is the longest pause of the sender, longest_send_call_us the longest system call of the sender. A forwarding kernel may do all work
 * of the router in this call; nothing is subtracted for the call. `gaps` lists each gap of more than 250 ms beyond the sender, with the phase of the packet that ends it.
 *
 * All times are CLOCK_REALTIME, the clock of the kernel's receive stamps, shared by every namespace.
 */
#include "tests/bench/netns.h"
#include "tests/bench/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 8
#define CLASSES_MAX 16
#define PACKETS_MAX (1u << 25)
#define CHANGES_MAX 65536
#define MAGIC 0x4b45454c70726f62u /* "KEELprob" */
#define UDP_PORT 7777
#define RECEIVE_BATCH 64
#define RECEIVE_BUFFER (64 << 20)
#define BURST_MAX                                                                                  \
	16 /* after an interruption the sender catches up in small steps: a veth ring holds 256 */
#define SEND_STEP_US                                                                               \
	200u /* packets due in this time leave together: a wake-up costs more than a packet */
#define BURST_STEP_NS 200000 /* when behind: between full bursts, so that the ring drains */
#define RECEIVE_STEP_NS                                                                            \
	1000000u /* arrivals carry the kernel's stamp, so late reading changes no figure */
#define BIN_NS 100000000u
#define RETRY_NS 50000000u /* with a window, while nothing arrives */
#define LAST_NS 10000000000u /* with a window, for the last packet */
#define DRAIN_NS 1000000000u /* for missing ones, which another path may hold */
#define LISTED_GAP_NS 250000000u
#define SOURCE_PORT 7776

struct payload {
	uint64_t magic, seq, sent_ns;
	uint32_t destination;
	uint32_t unused;
};

struct packet {
	_Atomic uint64_t sent_ns; /* 0: not sent */
	uint64_t arrived_ns; /* 0: not arrived */
	uint32_t destination;
	uint8_t port, phase:7;
	uint8_t held:1; /* the window was full when the packet was due */
	bool reordered, duplicate;
};

static struct {
	const char *from, *to[PORTS_MAX], *destinations, *out;
	unsigned to_count, pps, window, together_us;
} opt = {.pps = 10000, .together_us = SEND_STEP_US};

static struct {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr;
	uint8_t class;
	uint64_t highest; /* sequence + 1 of the newest arrival */
} * destination;
static uint32_t destination_count;

static struct packet *packets; /* by sequence number */
static _Atomic uint64_t sent_count, send_errors;
static _Atomic uint64_t newest; /* sequence + 1 of the newest arrival */
static _Atomic bool sending = true;
enum { REST, STORM, LINK, PHASES };
static _Atomic uint8_t phase;

static struct {
	uint64_t time_ns;
	uint8_t class, mask;
} change[CHANGES_MAX];
static unsigned change_count;
static struct turn {
	uint64_t time_ns, first_ns, last_wrong_ns; /* of arrivals; 0: none */
	uint64_t right, wrong;
	uint8_t class, mask;
} turn[CHANGES_MAX];
static unsigned turn_count;
static struct {
	uint64_t time_ns;
	char text[64];
} mark[CHANGES_MAX];
static unsigned mark_count;

static int receiver[PORTS_MAX][2]; /* IPv4, IPv6 */
static uint64_t first_ns, arrivals, duplicates, reordered, overflow[PORTS_MAX];
static _Atomic uint64_t longest_call_ns; /* of sendto */

static uint64_t
wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- sending ---- */

static int
open_sender(int family)
{
	struct sockaddr_in6 from6 = {.sin6_family = AF_INET6, .sin6_port = htons(SOURCE_PORT)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(SOURCE_PORT)};
	int fd, size = 4 << 20, one = 1;

	enter_netns(opt.from);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (fd < 0 || (family == AF_INET6 ? bind(fd, (struct sockaddr *)&from6, sizeof(from6))
					  : bind(fd, (struct sockaddr *)&from, sizeof(from))) != 0)
		die("sender", errno);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static void
send_one(const int *fds, uint64_t seq)
{
	uint32_t d = (uint32_t)(seq % destination_count);
	bool v6 = destination[d].addr.any.sa_family == AF_INET6;
	socklen_t len = v6 ? sizeof(destination[d].addr.v6) : sizeof(destination[d].addr.v4);
	struct payload p = {.magic = MAGIC, .seq = seq, .destination = d};
	struct packet *pk = &packets[seq];
	uint64_t took;

	pk->destination = d;
	pk->phase = atomic_load_explicit(&phase, memory_order_relaxed);
	p.sent_ns = wall_ns();
	/* release: pairs with the acquire in arrived() and in the report */
	atomic_store_explicit(&pk->sent_ns, p.sent_ns, memory_order_release);
	atomic_store_explicit(&sent_count, seq + 1, memory_order_release);
	if (sendto(fds[v6], &p, sizeof(p), 0, &destination[d].addr.any, len) !=
		(ssize_t)sizeof(p)) {
		atomic_store_explicit(&pk->sent_ns, 0,
			memory_order_release); /* not sent: does not count as a packet of the router */
		atomic_fetch_add_explicit(&send_errors, 1, memory_order_relaxed);
	}
	took = wall_ns() - p.sent_ns;
	if (took > atomic_load_explicit(&longest_call_ns, memory_order_relaxed))
		atomic_store_explicit(&longest_call_ns, took, memory_order_relaxed);
}

/*
 * The packet clock: a rate is a row of deadlines on the clock that stamps the packets. Only a window makes the loop wait for packets.
 */
static void
pace(uint64_t due_ns)
{
	struct timespec ts = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};

	clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL);
}

/*
 * Raises the priority of the sender. keeld's autogroup has nice -20, and beside busy control threads a sender of nice 0 did not run for a second: no packet
 * would be under way during a policy flip. The sender needs a tenth of a CPU. Without permission, longest_send_gap_us shows the pause.
 */
static void
first_in_line(void)
{
	int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "-20", 3) != 3)
			fprintf(stderr, "probe: autogroup: %s\n", strerror(errno));
		close(fd);
	}
	if (setpriority(PRIO_PROCESS, (id_t)gettid(), -20) != 0)
		fprintf(stderr, "probe: priority: %s\n", strerror(errno));
}

static bool
may_send(uint64_t seq, uint64_t last_ns, uint64_t now)
{
	if (opt.window == 0 ||
		seq < atomic_load_explicit(&newest, memory_order_relaxed) + opt.window)
		return true;
	packets[seq].held = 1;
	return now >= last_ns + RETRY_NS;
}

static void *
send_loop(void *arg)
{
	const int *fds = arg;
	uint64_t step = 1000000000u / opt.pps, together = opt.together_us * 1000ull, due, last = 0,
		 seq = 0;

	(void)pthread_setname_np(pthread_self(), "probe-sender"); /* tests/lab/lab.py */
	first_in_line();
	due = wall_ns();
	while (atomic_load_explicit(&sending, memory_order_acquire) && seq < PACKETS_MAX) {
		uint64_t now = wall_ns();
		unsigned burst = 0;

		for (; due <= now && burst < BURST_MAX && seq < PACKETS_MAX &&
			may_send(seq, last, now);
			burst++, due += step) {
			send_one(fds, seq++);
			last = now;
		}
		/* the window is full, or more than a second late: missed packets leave the schedule */
		if ((due <= now && burst < BURST_MAX) || due + 1000000000u < now)
			due = now;
		now = wall_ns();
		if (burst == BURST_MAX && due <= now)
			pace(now + BURST_STEP_NS);
		else
			pace(due > now + together ? due : now + together);
	}
	return NULL;
}

/* ---- receiving ---- */

static int
open_receiver(const char *spec, uint16_t protocol)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
	const char *iface = enter_netns_of(spec);
	int fd, size = RECEIVE_BUFFER, one = 1;

	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	sa.sll_ifindex = (int)if_nametoindex(iface);
	if (fd < 0 || sa.sll_ifindex == 0)
		die(spec, errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		die(spec, errno);
	return fd;
}

static uint64_t
stamp_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec ts;

			memcpy(&ts, CMSG_DATA(c), sizeof(ts));
			return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
		}
	}
	return wall_ns();
}

static void
arrived(const struct payload *p, unsigned port, uint64_t at_ns)
{
	struct packet *pk;

	/* acquire: pairs with the release in send_one */
	if (p->magic != MAGIC ||
		p->seq >= atomic_load_explicit(&sent_count, memory_order_acquire) ||
		p->destination >= destination_count)
		return;
	pk = &packets[p->seq];
	if (pk->arrived_ns != 0) {
		pk->duplicate = true;
		duplicates++;
		return;
	}
	pk->arrived_ns = at_ns;
	pk->port = (uint8_t)port;
	arrivals++;
	if (p->seq >= atomic_load_explicit(&newest, memory_order_relaxed))
		atomic_store_explicit(&newest, p->seq + 1, memory_order_relaxed);
	if (destination[p->destination].highest > p->seq) {
		pk->reordered = true;
		reordered++;
	} else {
		destination[p->destination].highest = p->seq + 1;
	}
}

/* Offset of the UDP payload; 0: no UDP. */
static size_t
payload_offset(const uint8_t *data)
{
	const struct iphdr *ip = (const void *)data;
	const struct ip6_hdr *ip6 = (const void *)data;

	if (ip->version == 4)
		return ip->protocol == IPPROTO_UDP ? (size_t)ip->ihl * 4 + sizeof(struct udphdr)
						   : 0;
	return ip->version == 6 && ip6->ip6_nxt == IPPROTO_UDP
		       ? sizeof(*ip6) + sizeof(struct udphdr)
		       : 0;
}

static void
receive_socket(int fd, unsigned port)
{
	static uint8_t data[RECEIVE_BATCH][256], control[RECEIVE_BATCH][128];
	struct mmsghdr m[RECEIVE_BATCH];
	struct iovec iov[RECEIVE_BATCH];
	int n;

	for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
		iov[i] = (struct iovec){data[i], sizeof(data[i])};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i],
						.msg_iovlen = 1,
						.msg_control = control[i],
						.msg_controllen = sizeof(control[i])}};
	}
	n = recvmmsg(fd, m, RECEIVE_BATCH, 0, NULL);
	for (int i = 0; i < n; i++) {
		struct payload p;
		size_t at = payload_offset(data[i]);

		if (at == 0 || m[i].msg_len < at + sizeof(p))
			continue;
		memcpy(&p, data[i] + at, sizeof(p));
		arrived(&p, port, stamp_of(&m[i].msg_hdr));
	}
}

static void
count_overflow(void)
{
	for (unsigned i = 0; i < 2 * opt.to_count; i++) {
		struct tpacket_stats st;
		socklen_t len = sizeof(st);

		if (getsockopt(receiver[i / 2][i % 2], SOL_PACKET, PACKET_STATISTICS, &st, &len) ==
			0)
			overflow[i / 2] += st.tp_drops; /* reading clears the counter */
	}
}

/* ---- report ---- */

static bool
misdirected(const struct packet *pk, uint64_t sent_ns)
{
	uint8_t class = destination[pk->destination].class, mask = 0;
	bool begun = false;

	unsigned low = 0, high = change_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (change[middle].time_ns <= pk->arrived_ns)
			low = middle + 1;
		else
			high = middle;
	}
	/* Each mask set before arrival, back to the mask in force at sending. */
	while (low-- > 0) {
		if (change[low].class != class)
			continue;
		mask |= change[low].mask;
		begun = true;
		if (change[low].time_ns <= sent_ns)
			break;
	}
	return begun && (mask & (1u << pk->port)) == 0;
}

/* The turn of a packet: the last turn of the class before sending. */
static struct turn *
turn_of(uint8_t class, uint64_t sent_ns)
{
	unsigned low = 0, high = turn_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (turn[middle].time_ns <= sent_ns)
			low = middle + 1;
		else
			high = middle;
	}
	while (low > 0 && turn[low - 1].class != class)
		low--;
	return low > 0 ? &turn[low - 1] : NULL;
}

static void
count_turn(const struct packet *pk, uint64_t sent_ns)
{
	struct turn *t = turn_of(destination[pk->destination].class, sent_ns);

	if (t == NULL)
		return;
	if ((t->mask & 1u << pk->port) == 0) {
		t->wrong++;
		if (pk->arrived_ns > t->last_wrong_ns)
			t->last_wrong_ns = pk->arrived_ns;
	} else {
		t->right++;
		if (t->first_ns == 0)
			t->first_ns = pk->arrived_ns;
	}
}

static void
write_turns(FILE *f)
{
	fprintf(f, ", \"turns\": [");
	for (unsigned i = 0; i < turn_count; i++) {
		const struct turn *t = &turn[i];

		fprintf(f,
			"%s{\"t\": %.6f, \"class\": %u, \"mask\": %u, \"right\": %llu, \"wrong\": "
			"%llu, "
			"\"first_s\": %.6f, \"last_wrong_s\": %.6f}",
			i ? ", " : "", (double)(t->time_ns - first_ns) / 1e9, t->class, t->mask,
			(unsigned long long)t->right, (unsigned long long)t->wrong,
			t->first_ns ? (double)(t->first_ns - t->time_ns) / 1e9 : -1.0,
			t->last_wrong_ns ? (double)(t->last_wrong_ns - t->time_ns) / 1e9 : 0.0);
	}
	fprintf(f, "]");
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double
percentile_us(const uint32_t *sorted, size_t n, double p)
{
	return n == 0 ? 0 : (double)sorted[(size_t)((double)(n - 1) * p)] / 1000.0;
}

static void
write_latency(FILE *f, const char *name, uint8_t of_phase, uint64_t total, uint32_t *scratch)
{
	size_t n = 0;

	for (uint64_t i = 0; i < total; i++) {
		uint64_t sent = atomic_load_explicit(&packets[i].sent_ns, memory_order_acquire);

		if (packets[i].phase == of_phase && sent != 0 && packets[i].arrived_ns > sent) {
			uint64_t d = packets[i].arrived_ns - sent;

			scratch[n++] = d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
		}
	}
	qsort(scratch, n, sizeof(*scratch), by_value);
	fprintf(f,
		"\"%s\": {\"count\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": "
		"%.1f}",
		name, n, percentile_us(scratch, n, 0.5), percentile_us(scratch, n, 0.99),
		percentile_us(scratch, n, 0.999), percentile_us(scratch, n, 1.0));
}

struct gaps {
	uint64_t arrival_ns, at_ns; /* between two consecutive arrivals of all ports; its begin */
	uint64_t beyond_ns; /* the same minus the pause of the sender */
	uint64_t send_ns; /* between two consecutive sent packets */
};

/* By arrival. Only neighbours are out of order: sockets, ports and families differ. */
static void
sort_arrivals(uint32_t *seq, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint32_t moved = seq[i];
		size_t at = i;

		for (; at > 0 && packets[seq[at - 1]].arrived_ns > packets[moved].arrived_ns; at--)
			seq[at] = seq[at - 1];
		seq[at] = moved;
	}
}

/*
 * The longest pause that is the sender's own, between consecutive packets from `from` to `to`, lost packets included: a router that drops for a while makes a gap
 * without a pause of the sender.
 */
static uint64_t
sender_paused(uint32_t from, uint32_t to)
{
	uint64_t before = atomic_load_explicit(&packets[from].sent_ns, memory_order_acquire),
		 longest = 0;

	for (uint32_t i = from; i++ < to;) {
		uint64_t sent = atomic_load_explicit(&packets[i].sent_ns, memory_order_acquire);

		if (sent == 0)
			continue;
		if (packets[i].held)
			before += RETRY_NS;
		if (sent > before && sent - before > longest)
			longest = sent - before;
		before = sent;
	}
	return longest;
}

/* Lists long gaps in `f`. */
static struct gaps
find_gaps(FILE *f, uint64_t total, uint32_t *seq)
{
	static const char *const phases[PHASES] = {"rest", "storm", "link"};
	const char *comma = "";
	struct gaps g = {0};
	size_t n = 0;

	if (total > 0)
		g.send_ns = sender_paused(0, (uint32_t)(total - 1));
	for (uint32_t i = 0; i < total; i++) {
		if (packets[i].arrived_ns != 0)
			seq[n++] = i;
	}
	sort_arrivals(seq, n);
	for (size_t i = 1; i < n; i++) {
		uint64_t begin = packets[seq[i - 1]].arrived_ns,
			 gap = packets[seq[i]].arrived_ns - begin, own;

		if (gap > g.arrival_ns) {
			g.arrival_ns = gap;
			g.at_ns = begin;
		}
		if (gap <= g.beyond_ns && gap <= LISTED_GAP_NS)
			continue; /* shorter than the longest known gap even without a pause of the sender */
		own = sender_paused(seq[i - 1], seq[i]);
		if (gap > own && gap - own > g.beyond_ns)
			g.beyond_ns = gap - own;
		if (gap <= own + LISTED_GAP_NS)
			continue;
		fprintf(f,
			"%s{\"begin\": %.3f, \"end\": %.3f, \"sender_s\": %.3f, \"phase\": \"%s\"}",
			comma, (double)begin / 1e9, (double)(begin + gap) / 1e9, (double)own / 1e9,
			phases[packets[seq[i]].phase]);
		comma = ", ";
	}
	return g;
}

static FILE *
open_out(const char *name)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", opt.out, name);
	f = fopen(path, "w");
	if (f == NULL)
		die(path, errno);
	return f;
}

static void
write_report(void)
{
	uint64_t total = atomic_load_explicit(&sent_count, memory_order_acquire), lost = 0,
		 wrong = 0, sent = 0;
	uint64_t per_port[PORTS_MAX] = {0}, sent_v6 = 0;
	uint64_t link_lost = 0, link_first_ns = 0, link_last_ns = 0;
	uint32_t *scratch = malloc((total + 1) * sizeof(*scratch));
	FILE *f = open_out("probe.json");
	struct gaps gaps;

	if (scratch == NULL)
		die("report", ENOMEM);
	count_overflow();
	for (unsigned i = 0; i < turn_count; i++)
		turn[i].first_ns = turn[i].last_wrong_ns = turn[i].right = turn[i].wrong = 0;
	for (uint64_t i = 0; i < total; i++) {
		uint64_t sent_ns = atomic_load_explicit(&packets[i].sent_ns, memory_order_acquire);

		if (sent_ns == 0)
			continue;
		sent++;
		sent_v6 += destination[packets[i].destination].addr.any.sa_family == AF_INET6;
		if (packets[i].arrived_ns == 0 && packets[i].phase == LINK) {
			link_lost++;
			link_last_ns = sent_ns;
			if (link_first_ns == 0)
				link_first_ns = sent_ns;
			continue;
		}
		if (packets[i].arrived_ns == 0) {
			lost++;
			continue;
		}
		per_port[packets[i].port]++;
		wrong += misdirected(&packets[i], sent_ns);
		count_turn(&packets[i], sent_ns);
	}
	fprintf(f,
		"{\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"misdirected\": %llu, "
		"\"reordered\": %llu, \"duplicates\": %llu, ",
		(unsigned long long)sent, (unsigned long long)arrivals, (unsigned long long)lost,
		(unsigned long long)wrong, (unsigned long long)reordered,
		(unsigned long long)duplicates);
	fprintf(f, "\"gaps\": [");
	gaps = find_gaps(f, total, scratch);
	fprintf(f,
		"], \"send_errors\": %llu, \"longest_gap_us\": %.1f, \"longest_gap_at_s\": %.3f, ",
		(unsigned long long)atomic_load(&send_errors), (double)gaps.arrival_ns / 1000.0,
		gaps.at_ns > first_ns ? (double)(gaps.at_ns - first_ns) / 1e9 : 0.0);
	fprintf(f,
		"\"longest_gap_beyond_sender_us\": %.1f, \"longest_send_gap_us\": %.1f, "
		"\"longest_send_call_us\": %.1f, ",
		(double)gaps.beyond_ns / 1000.0, (double)gaps.send_ns / 1000.0,
		(double)atomic_load(&longest_call_ns) / 1000.0);
	fprintf(f,
		"\"sent_ipv6\": %llu, \"link_failure\": {\"lost\": %llu, \"duration_us\": %.1f}, "
		"\"ports\": [",
		(unsigned long long)sent_v6, (unsigned long long)link_lost,
		(double)(link_last_ns - link_first_ns) / 1000.0);
	for (unsigned i = 0; i < opt.to_count; i++)
		fprintf(f, "%s{\"to\": \"%s\", \"received\": %llu, \"receiver_overflow\": %llu}",
			i ? ", " : "", opt.to[i], (unsigned long long)per_port[i],
			(unsigned long long)overflow[i]);
	fprintf(f, "], \"latency_us\": {");
	write_latency(f, "rest", REST, total, scratch);
	fprintf(f, ", ");
	write_latency(f, "storm", STORM, total, scratch);
	fprintf(f, "}, \"start_s\": %.3f, \"marks\": [", (double)first_ns / 1e9);
	for (unsigned i = 0; i < mark_count; i++)
		fprintf(f, "%s{\"t\": %.3f, \"text\": \"%s\"}", i ? ", " : "",
			(double)(mark[i].time_ns - first_ns) / 1e9, mark[i].text);
	fprintf(f, "]");
	write_turns(f);
	fprintf(f, "}\n");
	fclose(f);
	free(scratch);
}

/* One line a tenth of a second, by time of sending: seconds, sent, lost, misdirected, latency p50, p99, max (us). */
static void
write_bins(void)
{
	uint64_t total = atomic_load_explicit(&sent_count, memory_order_acquire);
	uint32_t *latency = malloc((total + 1) * sizeof(*latency));
	FILE *f = open_out("probe.csv");
	uint64_t i = 0;

	if (latency == NULL)
		die("report", ENOMEM);
	fprintf(f, "# seconds sent lost misdirected p50_us p99_us max_us\n");
	for (uint64_t bin = 0; i < total; bin++) {
		uint64_t end = first_ns + (bin + 1) * BIN_NS, sent = 0, lost = 0, wrong = 0;
		size_t n = 0;

		for (; i < total; i++) {
			uint64_t sent_ns =
				atomic_load_explicit(&packets[i].sent_ns, memory_order_acquire);

			if (sent_ns >= end)
				break;
			if (sent_ns == 0)
				continue;
			sent++;
			if (packets[i].arrived_ns == 0) {
				lost++;
				continue;
			}
			wrong += misdirected(&packets[i], sent_ns);
			latency[n++] = packets[i].arrived_ns > sent_ns
					       ? (uint32_t)(packets[i].arrived_ns - sent_ns)
					       : 0;
		}
		qsort(latency, n, sizeof(*latency), by_value);
		fprintf(f, "%.1f %llu %llu %llu %.1f %.1f %.1f\n", (double)bin / 10.0,
			(unsigned long long)sent, (unsigned long long)lost,
			(unsigned long long)wrong, percentile_us(latency, n, 0.5),
			percentile_us(latency, n, 0.99), percentile_us(latency, n, 1.0));
	}
	fclose(f);
	free(latency);
}

/* ---- commands ---- */

static bool
command(char *line)
{
	char *word = strtok(line, " \n"), *a = strtok(NULL, " \n"), *b = strtok(NULL, "\n");

	if (word == NULL)
		return true;
	if (strcmp(word, "mask") == 0 && a != NULL && b != NULL && change_count < CHANGES_MAX) {
		change[change_count].class = (uint8_t)strtoul(a, NULL, 10);
		change[change_count].mask = (uint8_t)strtoul(b, NULL, 10);
		change[change_count++].time_ns = wall_ns();
	} else if (strcmp(word, "turn") == 0 && a != NULL && b != NULL &&
		   turn_count < CHANGES_MAX) {
		turn[turn_count].class = (uint8_t)strtoul(a, NULL, 10);
		turn[turn_count].mask = (uint8_t)strtoul(b, NULL, 10);
		turn[turn_count++].time_ns = wall_ns();
	} else if (strcmp(word, "phase") == 0 && a != NULL) {
		atomic_store(&phase, strcmp(a, "storm") == 0  ? STORM
				     : strcmp(a, "link") == 0 ? LINK
							      : REST);
	} else if (strcmp(word, "mark") == 0 && a != NULL && mark_count < CHANGES_MAX) {
		snprintf(mark[mark_count].text, sizeof(mark[0].text), "%s%s%s", a,
			b != NULL ? " " : "", b != NULL ? b : "");
		mark[mark_count++].time_ns = wall_ns();
	} else if (strcmp(word, "report") == 0) {
		write_report();
	} else if (strcmp(word, "stop") == 0) {
		return false;
	} else {
		printf("error %s\n", word);
		fflush(stdout);
		return true;
	}
	/* The answer confirms the mask before the caller acts. */
	printf("ok %s\n", word);
	fflush(stdout);
	return true;
}

static void
receive_for(int timeout_ms, bool *go_on)
{
	struct pollfd fds[2 * PORTS_MAX + 1];
	unsigned n = 2 * opt.to_count;

	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = receiver[i / 2][i % 2], .events = POLLIN};
	fds[n] = (struct pollfd){.fd = *go_on ? STDIN_FILENO : -1, .events = POLLIN};
	if (poll(fds, n + 1, timeout_ms) < 0 && errno != EINTR)
		die("poll", errno);
	for (unsigned i = 0; i < n; i++) {
		if (fds[i].revents & POLLIN)
			receive_socket(fds[i].fd, i / 2);
	}
	if (fds[n].revents != 0)
		*go_on = commands_read(command);
}

static bool
destination_address(const char *text, size_t i)
{
	struct sockaddr_in *v4 = &destination[i].addr.v4;
	struct sockaddr_in6 *v6 = &destination[i].addr.v6;

	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(UDP_PORT)};
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		return true;
	*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(UDP_PORT)};
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

static void
read_destinations(void)
{
	FILE *f = fopen(opt.destinations, "r");
	char addr[64];
	unsigned class;
	size_t size = 0;

	if (f == NULL)
		die(opt.destinations, errno);
	while (fscanf(f, "%63s %u", addr, &class) == 2) {
		if (destination_count == size) {
			size = size ? 2 * size : 4096;
			destination = realloc(destination, size * sizeof(*destination));
			if (destination == NULL)
				die("destinations", ENOMEM);
		}
		memset(&destination[destination_count], 0, sizeof(*destination));
		destination[destination_count].class = (uint8_t) class;
		if (!destination_address(addr, destination_count) || class >= CLASSES_MAX)
			die(addr, EINVAL);
		destination_count++;
	}
	fclose(f);
	if (destination_count == 0)
		die(opt.destinations, ENODATA);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option options[] = {{"from", required_argument, NULL, 'f'},
		{"to", required_argument, NULL, 't'},
		{"destinations", required_argument, NULL, 'd'},
		{"pps", required_argument, NULL, 'p'}, {"out", required_argument, NULL, 'o'},
		{"window", required_argument, NULL, 'w'},
		{"together", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f')
			opt.from = optarg;
		else if (c == 't' && opt.to_count < PORTS_MAX)
			opt.to[opt.to_count++] = optarg;
		else if (c == 'd')
			opt.destinations = optarg;
		else if (c == 'p')
			opt.pps = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'o')
			opt.out = optarg;
		else if (c == 'w')
			opt.window = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'u')
			opt.together_us = (unsigned)strtoul(optarg, NULL, 10);
		else
			exit(2);
	}
	if (opt.from == NULL || opt.to_count == 0 || opt.destinations == NULL || opt.out == NULL ||
		opt.pps == 0 || opt.pps > 1000000) {
		fprintf(stderr, "probe: --from, --to, --destinations and --out are needed, --pps "
				"is from 1 to 1000000\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	pthread_t sender;
	bool go_on = true, last;
	int fds[2];
	uint64_t end;

	parse_options(argc, argv);
	read_destinations();
	/* pages appear on first touch */
	packets = mmap(NULL, sizeof(*packets) * (size_t)PACKETS_MAX, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (packets == MAP_FAILED)
		die("packets", errno);
	for (unsigned i = 0; i < opt.to_count; i++) {
		receiver[i][0] = open_receiver(opt.to[i], ETH_P_IP);
		receiver[i][1] = open_receiver(opt.to[i], ETH_P_IPV6);
	}
	fds[0] = open_sender(AF_INET);
	fds[1] = open_sender(AF_INET6);
	first_ns = wall_ns();
	if (pthread_create(&sender, NULL, send_loop, fds) != 0)
		die("sender", errno);
	while (go_on) {
		receive_for(100, &go_on);
		pace(wall_ns() + RECEIVE_STEP_NS); /* the sockets hold packets meanwhile */
	}
	atomic_store_explicit(&sending, false, memory_order_release);
	pthread_join(sender, NULL);
	last = opt.window == 0;
	end = wall_ns() + (last ? DRAIN_NS : LAST_NS);
	while (wall_ns() < end && arrivals + atomic_load(&send_errors) < atomic_load(&sent_count)) {
		receive_for(10, &go_on);
		if (!last && atomic_load(&newest) == atomic_load(&sent_count)) {
			last = true;
			end = wall_ns() + DRAIN_NS;
		}
	}
	write_report();
	write_bins();
	return 0;
}
