/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fan: many BGP peers that receive at the lowest cost and report the time of the last octet; also the floor for comparison with the fan-out of
 * a speaker. Commands on standard input, one a line; answers on standard output, one JSON object a line.
 *
 *   fan --connect ADDRESS [--port N] --source FIRST-IPV4-ADDRESS --peers N --asn N [--hold SECONDS] [--count K [--tables]] [--ipv6] [--vpn]
 *      [--one-as] [--save FILE] [--late] [--raw] [--no-hosts]
 *   fan --serve FILE --connect ADDRESS --port N --peers N
 *
 * Peer i (from 0) speaks from address FIRST + i as AS N + i, with --one-as as AS N. The first K (1) read UPDATEs and count routes; for further peers the kernel
 * discards the input. --tables: counting peers keep their tables. --ipv6: the sessions have IPv6 routes instead of IPv4. --vpn: VPNv4 or
 * VPNv6 routes; the tables have the label of each route. --save: all UPDATEs of peer 0 as received. --late: connects at `up`. --raw: no BGP, a connection is up at once. --no-hosts: an
 * UPDATE of one /32 belongs to a probe and does not count.
 *   up       connects all peers; {"event": "established"} when all sessions are up
 *   down     closes all
 *   keep     peers without a session stay so; {"event": "done"}
 *   mark     resets the counters
 *   stat     {"event": "stat", "established", "lost", "octets", "octets_min", "octets_max": of a peer; "routes", "withdrawn", "updates": of the counting
 *            peer with the lowest count; "first_ns", "last_ns": first and last arrival at any peer}
 *   tables   {"event": "tables", "held": prefixes of each counting peer, "sum": over their routes (held.h)}; with --tables
 *   quit
 * Times are CLOCK_MONOTONIC, one clock for the whole machine.
 *
 * --serve: accepts N connections, and at `go` writes FILE to each with writev; {"event": "done", "cpu_s", "wall_s"} of the writes.
 */
#include "control/bgp/bgp_msg.h"
#include "control/bgp/bgp_nlri.h"
#include "control/base/threads.h"
#include "lpm/base/prefix.h"
#include "tests/bench/held.h"
#include "tests/bench/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define RX_SIZE (1u << 20)
#define DISCARD (64u << 20) /* in one call, without a copy */
#define CONNECT_RETRY_NS 100000000u
/* At a time: BIRD listens with a backlog of 8, and a SYN beyond the backlog waits for seconds. */
#define CONNECTING_MAX 4
#define NS_PER_S 1000000000ull
#define CHUNK (64u << 10) /* of the floor: octets of one entry of a writev */
#define CHUNKS 16

static struct {
	const char *connect, *source, *save, *serve;
	uint32_t asn, peers, hold_s, count;
	uint16_t port;
	bool late, raw, no_hosts, tables, ipv6, vpn, one_as;
} opt = {.asn = 65001, .peers = 1, .hold_s = 90, .count = 1, .port = 179};

struct receiver {
	int fd;
	unsigned index;
	bool connecting, open_received, established;
	uint64_t retry_ns;
	uint8_t *rx; /* of counting peers; further peers share one buffer until the session is up */
	size_t rx_len;
	uint64_t octets, routes, withdrawn, updates;
	struct held held;
	size_t sent; /* --serve */
};

static struct receiver *peer;
static int epoll_fd, save_fd = -1;
static struct {
	bool wanted, told;
	unsigned established, lost;
	uint64_t first_ns, last_ns, keepalive_due_ns;
} all;

static void
came(uint64_t now)
{
	if (all.first_ns == 0)
		all.first_ns = now;
	all.last_ns = now;
}

static void
watch(struct receiver *p, int op, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = p};

	if (epoll_ctl(epoll_fd, op, p->fd, &e) != 0)
		die("epoll", errno);
}

/* ---- sessions ---- */

static void
session_end(struct receiver *p)
{
	close(p->fd);
	p->fd = -1;
	all.established -= p->established;
	all.lost += p->established && all.wanted;
	p->established = p->open_received = p->connecting = false;
	p->rx_len = 0;
	free(p->held.slot);
	p->held = (struct held){0};
	p->retry_ns = now_ns() + CONNECT_RETRY_NS;
}

/* The message fits the empty socket buffer, so a partial write ends the session. */
static void
message_send(struct receiver *p, const uint8_t *msg, size_t len)
{
	if (send(p->fd, msg, len, MSG_NOSIGNAL) != (ssize_t)len)
		session_end(p);
}

static void
keepalive_send(struct receiver *p)
{
	uint8_t msg[BGP_HEADER_LEN];

	message_send(p, msg, bgp_keepalive_encode(msg, sizeof(msg)));
}

static void
established(struct receiver *p)
{
	p->established = true;
	if (++all.established < opt.peers || all.told)
		return;
	all.told = true;
	printf("{\"event\": \"established\", \"time_ns\": %llu}\n", (unsigned long long)now_ns());
	fflush(stdout);
}

static uint32_t
source_address(const struct receiver *p)
{
	struct ip_addr first;

	addr_parse(opt.source, &first);
	return addr_v4(&first) + p->index;
}

static void
open_message(struct receiver *p)
{
	struct bgp_open_options o = {.asn = opt.asn + (opt.one_as ? 0 : p->index),
		.hold_time_s = (uint16_t)opt.hold_s,
		.families = (uint8_t)(1u << family_from_afi_safi(opt.ipv6 ? AFI_IPV6 : AFI_IPV4,
					      opt.vpn ? SAFI_VPN : SAFI_UNICAST)),
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.four_octet_as = true,
		.identifier = source_address(p)};
	uint8_t msg[512];

	p->connecting = false;
	watch(p, EPOLL_CTL_MOD, EPOLLIN);
	if (opt.raw)
		established(p);
	else
		message_send(p, msg, bgp_open_encode(&o, msg, sizeof(msg)));
}

static void
connect_peer(struct receiver *p)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(opt.port)},
			   from = {.sin_family = AF_INET};
	int one = 1;

	from.sin_addr.s_addr = htonl(source_address(p));
	inet_pton(AF_INET, opt.connect, &to.sin_addr);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		die("socket", errno);
	/* the kernel chooses the port at connect: many connections from one address */
	setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(p->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		die("--source", errno);
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	p->connecting = true;
	watch(p, EPOLL_CTL_ADD, EPOLLOUT);
	if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
		session_end(p);
}

static void
connected(struct receiver *p)
{
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err != 0)
		session_end(p);
	else
		open_message(p);
}

/* ---- what comes ---- */

/* RFC 4271 4.3: number of prefixes, which the table of the peer gets with these attributes (NULL: withdrawn). */
static uint64_t
prefixes(struct receiver *r, const uint8_t *p, const uint8_t *end, const uint64_t *attributes)
{
	unsigned label_len = opt.vpn ? LABEL_OCTETS : 0; /* not part of the key */
	uint64_t n = 0;

	for (; p < end; n++) {
		unsigned octets = (*p + 7u) / 8;
		uint64_t prefix, label;

		if (octets >= (size_t)(end - p) || octets < label_len)
			die("UPDATE", EPROTO);
		if (opt.tables) {
			prefix = held_prefix(*p - 8 * label_len, p + 1 + label_len);
			label = opt.vpn ? label_get(p + 1) : 0;
			held_set(&r->held, prefix,
				attributes != NULL ? held_route(prefix, *attributes + label) : 0);
		}
		p += 1 + octets;
	}
	return n;
}

/* RFC 4760 3 and 4: NLRI of MP_REACH_NLRI and MP_UNREACH_NLRI. */
static void
mp_prefixes(struct receiver *r, const struct wire_attributes *a, uint64_t attributes)
{
	if (a->unreach.len > 3)
		r->withdrawn += prefixes(r, a->unreach.p + 3, a->unreach.p + a->unreach.len, NULL);
	if (a->reach.len == 0)
		return;
	if (a->reach.len < 5 || a->reach.len < 5u + a->reach.p[3])
		die("MP_REACH_NLRI", EPROTO);
	r->routes +=
		prefixes(r, a->reach.p + 5 + a->reach.p[3], a->reach.p + a->reach.len, &attributes);
}

static void
update(struct receiver *p, const uint8_t *msg, size_t len, uint64_t now)
{
	const uint8_t *at = msg + BGP_HEADER_LEN, *end = msg + len;
	size_t withdrawn = (size_t)at[0] << 8 | at[1], attributes;
	struct wire_attributes a = {0};
	uint64_t sum = 0;

	if (len < BGP_HEADER_LEN + 4 || withdrawn + 4 > (size_t)(end - at))
		die("UPDATE", EPROTO);
	p->withdrawn += prefixes(p, at + 2, at + 2 + withdrawn, NULL);
	at += 2 + withdrawn;
	attributes = (size_t)at[0] << 8 | at[1];
	if (attributes + 2 > (size_t)(end - at))
		die("UPDATE", EPROTO);
	if (opt.tables || opt.ipv6 || opt.vpn) {
		if (!wire_attributes_read(at + 2, attributes, &a))
			die("UPDATE", EPROTO);
		if (opt.vpn && a.med_sum == held_octets(WIRE_MED, (const uint8_t[4]){0}, 4))
			a.med_sum = 0; /* FRR 8.4 reflects a route without MED with a MED of 0 */
		sum = a.sum + a.med_sum + held_path(a.path.p, a.path.len);
	}
	at += 2 + attributes;
	if (opt.no_hosts && withdrawn == 0 && end - at == 5 && *at == 32)
		return;
	p->routes += prefixes(p, at, end, &sum);
	mp_prefixes(p, &a, sum);
	p->updates++;
	came(now);
	if (p->index == 0 && save_fd >= 0 && write(save_fd, msg, len) != (ssize_t)len)
		die(opt.save, errno);
}

struct heard {
	struct receiver *p;
	uint64_t now;
};

/* False: the session has ended. */
static bool
take(void *ctx, uint8_t type, const uint8_t *msg, size_t len)
{
	struct heard *h = ctx;
	struct receiver *p = h->p;

	switch (type) {
	case BGP_OPEN:
		p->open_received = true;
		keepalive_send(p);
		break;
	case BGP_KEEPALIVE:
		if (p->open_received && !p->established)
			established(p);
		break;
	case BGP_UPDATE:
		update(p, msg, len, h->now);
		break;
	case BGP_NOTIFICATION:
		session_end(p);
		break;
	default:
		break;
	}
	return p->fd >= 0;
}

static void
discard(struct receiver *p)
{
	ssize_t n = recv(p->fd, NULL, DISCARD, MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		session_end(p);
		return;
	}
	p->octets += (size_t)n;
	if (n > BGP_HEADER_LEN) /* more than a KEEPALIVE */
		came(now_ns());
}

static void
receive(struct receiver *p)
{
	struct heard h = {.p = p};
	ssize_t n;

	if (p->established && (p->index >= opt.count || opt.raw) && p->rx_len == 0) {
		discard(p);
		return;
	}
	n = recv(p->fd, p->rx + p->rx_len, RX_SIZE - p->rx_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		session_end(p);
		return;
	}
	h.now = now_ns();
	p->rx_len += (size_t)n;
	p->octets += (size_t)n;
	stream_messages(p->rx, &p->rx_len, BGP_MSG_MAX, take, &h);
}

/* ---- commands ---- */

static void
mark(void)
{
	for (unsigned i = 0; i < opt.peers; i++)
		peer[i].octets = peer[i].routes = peer[i].withdrawn = peer[i].updates = 0;
	all.first_ns = all.last_ns = 0;
	all.lost = 0;
	printf("{\"event\": \"done\", \"command\": \"mark\"}\n");
}

static void
keep(void)
{
	all.told = true;
	printf("{\"event\": \"done\", \"command\": \"keep\"}\n");
}

static void
stat_print(void)
{
	uint64_t octets = 0, min = UINT64_MAX, max = 0;
	const struct receiver *least = &peer[0];

	for (unsigned i = 0; i < opt.peers; i++) {
		octets += peer[i].octets;
		min = peer[i].octets < min ? peer[i].octets : min;
		max = peer[i].octets > max ? peer[i].octets : max;
		if (i < opt.count && peer[i].routes < least->routes)
			least = &peer[i];
	}
	printf("{\"event\": \"stat\", \"established\": %u, \"lost\": %u, \"octets\": %llu, "
	       "\"octets_min\": %llu, \"octets_max\": %llu, \"routes\": %llu, \"withdrawn\": %llu, "
	       "\"updates\": %llu, \"first_ns\": %llu, \"last_ns\": %llu}\n",
		all.established, all.lost, (unsigned long long)octets, (unsigned long long)min,
		(unsigned long long)max, (unsigned long long)least->routes,
		(unsigned long long)least->withdrawn, (unsigned long long)least->updates,
		(unsigned long long)all.first_ns, (unsigned long long)all.last_ns);
}

static void
tables_print(void)
{
	unsigned n = opt.count < opt.peers ? opt.count : opt.peers;

	printf("{\"event\": \"tables\", \"held\": [");
	for (unsigned i = 0; i < n; i++)
		printf("%s%llu", i > 0 ? ", " : "", (unsigned long long)peer[i].held.count);
	printf("], \"sum\": [");
	for (unsigned i = 0; i < n; i++)
		printf("%s%llu", i > 0 ? ", " : "", (unsigned long long)peer[i].held.sum);
	printf("]}\n");
}

static void
down(void)
{
	uint8_t msg[256];
	size_t len = bgp_cease_encode(CEASE_ADMIN_SHUTDOWN, NULL, msg, sizeof(msg));

	all.wanted = all.told = false;
	for (unsigned i = 0; i < opt.peers; i++) {
		if (peer[i].fd < 0)
			continue;
		if (peer[i].established && !opt.raw)
			message_send(&peer[i], msg, len);
		if (peer[i].fd >= 0)
			session_end(&peer[i]);
	}
	printf("{\"event\": \"done\", \"command\": \"down\"}\n");
}

/* False: no more. */
static bool
command(char *line)
{
	if (strcmp(line, "quit") == 0)
		return false;
	if (strcmp(line, "up") == 0)
		all.wanted = true;
	else if (strcmp(line, "down") == 0)
		down();
	else if (strcmp(line, "keep") == 0)
		keep();
	else if (strcmp(line, "mark") == 0)
		mark();
	else if (strcmp(line, "stat") == 0)
		stat_print();
	else if (strcmp(line, "tables") == 0)
		tables_print();
	else
		printf("{\"event\": \"error\", \"reason\": \"command\"}\n");
	fflush(stdout);
	return true;
}

static void
turn(uint64_t now)
{
	bool keepalive = now >= all.keepalive_due_ns;
	unsigned connecting = 0;

	for (unsigned i = 0; i < opt.peers; i++)
		connecting += peer[i].connecting;
	if (keepalive)
		all.keepalive_due_ns = now + opt.hold_s * NS_PER_S / 3;
	for (unsigned i = 0; i < opt.peers; i++) {
		if (peer[i].fd < 0 && all.wanted && !all.told && now >= peer[i].retry_ns &&
			connecting < CONNECTING_MAX) {
			connect_peer(&peer[i]);
			connecting++;
		}
		if (peer[i].established && keepalive && !opt.raw)
			keepalive_send(&peer[i]);
	}
}

static void
receivers_run(void)
{
	struct epoll_event ready[64];

	all.wanted = !opt.late;
	for (;;) {
		int n = epoll_wait(epoll_fd, ready, 64, 50);

		for (int i = 0; i < n; i++) {
			struct receiver *p = ready[i].data.ptr;

			if (p == NULL) {
				if (!commands_read(command))
					return;
			} else if (p->fd >= 0 && p->connecting) {
				connected(p);
			} else if (p->fd >= 0) {
				receive(p);
			}
		}
		turn(now_ns());
	}
}

/* ---- the floor ---- */

static uint8_t *file;
static size_t file_len;

static void
file_map(void)
{
	int fd = open(opt.serve, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		die(opt.serve, errno != 0 ? errno : ENODATA);
	file_len = (size_t)st.st_size;
	file = mmap(NULL, file_len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (file == MAP_FAILED)
		die(opt.serve, errno);
	close(fd);
}

static void
accept_all(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	inet_pton(AF_INET, opt.connect, &at.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1024) != 0)
		die("--connect", errno);
	for (unsigned i = 0; i < opt.peers; i++) {
		peer[i].fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (peer[i].fd < 0)
			die("accept", errno);
		setsockopt(peer[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	close(fd);
	printf("{\"event\": \"ready\"}\n");
	fflush(stdout);
}

/* Writes as long as there is room. True: the connection has everything. */
static bool
serve(struct receiver *p)
{
	struct iovec v[CHUNKS];

	while (p->sent < file_len) {
		size_t at = p->sent;
		int count = 0;
		ssize_t n;

		for (; count < CHUNKS && at < file_len; at += v[count++].iov_len)
			v[count] = (struct iovec){
				file + at, file_len - at < CHUNK ? file_len - at : CHUNK};
		n = writev(p->fd, v, count);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (n < 0)
			die("writev", errno);
		p->sent += (size_t)n;
	}
	return true;
}

static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* False: done. */
static bool
serve_all(char *line)
{
	double cpu = cpu_seconds();
	uint64_t begin = now_ns();
	struct epoll_event ready[64];
	unsigned left = opt.peers;

	if (strcmp(line, "go") != 0)
		return false;
	for (unsigned i = 0; i < opt.peers; i++)
		watch(&peer[i], EPOLL_CTL_ADD, EPOLLOUT);
	while (left > 0) {
		int n = epoll_wait(epoll_fd, ready, 64, -1);

		for (int i = 0; i < n; i++) {
			struct receiver *p = ready[i].data.ptr;

			if (serve(p)) {
				watch(p, EPOLL_CTL_DEL, 0);
				left--;
			}
		}
	}
	printf("{\"event\": \"done\", \"command\": \"go\", \"cpu_s\": %.6f, \"wall_s\": %.6f, "
	       "\"octets\": %zu}\n",
		cpu_seconds() - cpu, (double)(now_ns() - begin) / 1e9, file_len * opt.peers);
	fflush(stdout);
	return true;
}

static void
serve_run(void)
{
	file_map();
	accept_all();
	while (commands_read(serve_all))
		;
}

static void
parse_options(int argc, char **argv)
{
	const struct tool_option options[] = {{"connect", OPTION_TEXT, &opt.connect},
		{"source", OPTION_TEXT, &opt.source}, {"asn", OPTION_U32, &opt.asn},
		{"peers", OPTION_U32, &opt.peers}, {"hold", OPTION_U32, &opt.hold_s},
		{"port", OPTION_U16, &opt.port}, {"count", OPTION_U32, &opt.count},
		{"save", OPTION_TEXT, &opt.save}, {"serve", OPTION_TEXT, &opt.serve},
		{"late", OPTION_FLAG, &opt.late}, {"raw", OPTION_FLAG, &opt.raw},
		{"no-hosts", OPTION_FLAG, &opt.no_hosts}, {"tables", OPTION_FLAG, &opt.tables},
		{"ipv6", OPTION_FLAG, &opt.ipv6}, {"vpn", OPTION_FLAG, &opt.vpn},
		{"one-as", OPTION_FLAG, &opt.one_as}};
	struct ip_addr source;

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (opt.connect == NULL || opt.peers == 0 || opt.hold_s < 3 ||
		(opt.serve == NULL && (opt.source == NULL || addr_parse(opt.source, &source) != 0 ||
					      source.afi != AFI_IPV4))) {
		fprintf(stderr, "fan: --connect, --peers, and --source or --serve are needed, "
				"--hold is at least 3\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL};

	parse_options(argc, argv);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	peer = calloc(opt.peers, sizeof(*peer));
	if (epoll_fd < 0 || peer == NULL)
		die("start", errno);
	for (unsigned i = 0; i < opt.peers; i++) {
		peer[i].fd = -1;
		peer[i].index = i;
		peer[i].rx = opt.serve == NULL ? malloc(RX_SIZE) : NULL;
		if (opt.serve == NULL && peer[i].rx == NULL)
			die("start", ENOMEM);
	}
	if (opt.serve != NULL) {
		serve_run();
		return 0;
	}
	if (opt.save != NULL &&
		(save_fd = open(opt.save, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		die(opt.save, errno);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &in) != 0)
		die("start", errno);
	receivers_run();
	return 0;
}
