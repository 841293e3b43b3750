/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crowd: many BGP peers in one process, for storms: receive routes, request refreshes, stop reading, flap. Commands on
 * standard input, one a line; answers on standard output, one JSON object a line.
 *
 *   crowd --connect ADDRESS [--port N] --source FIRST-IPV4-ADDRESS --peers N --asn N [--same-asn] --hold SECONDS [--next-hop ADDRESS]
 *
 * Peer i (from 0) speaks from address FIRST + i as AS N + i (with --same-asn all as N). Commands:
 *   refresh              each peer requests a refresh of ipv4-unicast, at once
 *   refresh RATE SECONDS peers request in turn, RATE requests a second in all
 *   stall I              peer I reads nothing from now on; `resume I`
 *   slow RATE            each peer reads at most RATE octets a second from now on
 *   flap I COUNT         peer I announces COUNT different /32s (from 100.64.0.0 on), and withdraws each after FLAP_OPEN later announcements: an
 *                        immediate withdrawal would hide the announcement from all receivers
 *   probe I J COUNT MS   peer I announces a route, then changes the route COUNT times, every MS milliseconds; peer J stamps each arrival
 *   probe-stop FROM TO   ends the probe: the answer covers changes sent between FROM and TO (ns of CLOCK_MONOTONIC) and comes after all arrivals
 *   report               counters since the last report
 *   quit
 * A long command is answered at its end: {"event": "done", ...}; commands run in parallel.
 */
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/base/threads.h"
#include "tests/bench/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEERS_MAX 1024
#define RX_SIZE (256u << 10)
#define TURN_BYTES (1u << 20) /* of one peer, then the next peer */
#define FLAP_TX_LOW (1u << 20) /* more updates when fewer octets wait */
#define FLAP_RUN 1000
#define FLAP_OPEN 100000u
#define FLAP_FIRST 0x64400000u
#define PROBE_ADDR 0xc6336401u /* 198.51.100.1/32 */
#define PROBES_MAX 65536u
#define PROBE_COMMUNITY 0xfde80000u /* 65000:N */
#define CONNECT_RETRY_NS 100000000u
#define NS_PER_S 1000000000ull
static struct {
	const char *connect, *source, *next_hop;
	uint32_t asn, peers, hold_s;
	uint16_t port;
	bool same_asn;
} opt = {.next_hop = "192.0.2.1", /* addresses of peers can be in 127/8, which is no next hop */
	.asn = 65001,
	.peers = 1,
	.hold_s = 90,
	.port = 179};

struct speaker {
	int fd;
	unsigned index;
	bool connecting, open_received, established, stalled, slowed, ever;
	uint64_t retry_ns, keepalive_due_ns;
	uint8_t *rx;
	size_t rx_len;
	uint8_t *tx;
	size_t tx_len, tx_sent, tx_size;
	uint32_t flaps, flap_announced, flap_withdrawn; /* of `flaps` in all */
	uint64_t slow_octets; /* read since the command `slow` */
	/* since the last report */
	uint64_t updates, octets, borr, eorr, requests, lost;
	uint64_t heard_ns, longest_silence_ns;
	char last[96]; /* end of the last session */
};

static struct speaker *peer;
static int epoll_fd;
static struct {
	double rate;
	uint64_t begin_ns, end_ns, sent;
	unsigned next;
} storm;
static struct {
	double rate; /* octets a second; 0: no limit */
	uint64_t begin_ns;
} slow;
static struct {
	unsigned from, to;
	uint32_t count, sent, heard; /* sent and heard: how many */
	uint64_t step_ns, due_ns, from_ns, to_ns; /* from and to: interval of the report */
	uint64_t *sent_ns, *latency_ns;
} probe;

static void
event(const char *name, const char *detail)
{
	printf("{\"event\": \"%s\"%s%s}\n", name, *detail ? ", " : "", detail);
	fflush(stdout);
}

/* ---- output ---- */

static uint8_t *
tx_room(struct speaker *p, size_t len)
{
	if (p->tx_len + len > p->tx_size) {
		p->tx_size = 2 * p->tx_size + len + 4096;
		p->tx = realloc(p->tx, p->tx_size);
		if (p->tx == NULL)
			die("output", ENOMEM);
	}
	return p->tx + p->tx_len;
}

static void
watch(struct speaker *p)
{
	struct epoll_event e = {.data.ptr = p};

	e.events = (p->stalled ? 0 : EPOLLIN) |
		   (p->connecting || p->tx_sent < p->tx_len ? EPOLLOUT : 0);
	if (p->fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, p->fd, &e) != 0)
		die("epoll", errno);
}

static void
session_end(struct speaker *p, const char *why)
{
	close(p->fd);
	p->fd = -1;
	p->lost += p->established;
	if (p->established || p->last[0] == '\0')
		snprintf(p->last, sizeof(p->last), "%s", why);
	p->established = p->open_received = p->connecting = false;
	p->rx_len = p->tx_len = p->tx_sent = 0;
	p->retry_ns = now_ns() + CONNECT_RETRY_NS;
}

static void
flush_peer(struct speaker *p)
{
	while (p->fd >= 0 && !p->connecting && p->tx_sent < p->tx_len) {
		ssize_t n = send(p->fd, p->tx + p->tx_sent, p->tx_len - p->tx_sent, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			session_end(p, strerror(errno));
			return;
		}
		p->tx_sent += (size_t)n;
	}
	if (p->tx_sent == p->tx_len)
		p->tx_sent = p->tx_len = 0;
	watch(p);
}

/*
 * A run of /32s in shared messages, announced or withdrawn. The community carries a number to the far end; some daemons drop a MED.
 */
static void
put_run(struct speaker *p, uint32_t first, unsigned count, bool withdraw, uint16_t number)
{
	static const struct bgp_encode_options encode = {.as4 = true, .send_communities = true};
	uint8_t buf[sizeof(struct attr_set) + 64] __attribute__((aligned(8))) = {0};
	struct attr_set *a = (struct attr_set *)(void *)buf;
	uint32_t asn = htonl(opt.same_asn ? opt.asn : opt.asn + p->index);
	uint32_t community = htonl(PROBE_COMMUNITY | number);
	struct update_packer packer;
	bool open = false;

	addr_parse(opt.next_hop, &a->next_hop);
	a->var[0] = 2; /* AS_SEQUENCE */
	a->var[1] = 1;
	memcpy(a->var + 2, &asn, sizeof(asn));
	a->as_path_len = 6;
	memcpy(a->var + 6, &community, sizeof(community));
	a->community_count = 1;
	attr_set_derive(a);
	for (unsigned i = 0; i < count;) {
		struct prefix prefix = prefix_from_v4(first + i, 32);

		if (!open && !(open = update_packer_begin(&packer, FAMILY_IPV4_UNICAST,
				       withdraw ? NULL : a, &encode, tx_room(p, BGP_MSG_MAX),
				       BGP_MSG_MAX)))
			return;
		if (update_packer_add(&packer, &prefix, 0)) {
			i++;
			continue;
		}
		p->tx_len += update_packer_finish(&packer);
		open = false;
	}
	if (open)
		p->tx_len += update_packer_finish(&packer);
}

static void
flap_more(struct speaker *p)
{
	char detail[64];

	if (p->flaps == 0 || !p->established)
		return;
	while (p->flap_withdrawn < p->flaps && p->tx_len - p->tx_sent < FLAP_TX_LOW) {
		uint32_t open = p->flap_announced - p->flap_withdrawn,
			 left = p->flaps - p->flap_announced;
		bool withdraw = left == 0 || open >= FLAP_OPEN;
		uint32_t most = withdraw ? open : left, n = most < FLAP_RUN ? most : FLAP_RUN;
		uint32_t *at = withdraw ? &p->flap_withdrawn : &p->flap_announced;

		put_run(p, FLAP_FIRST + *at, n, withdraw, 0);
		*at += n;
	}
	if (p->flap_withdrawn == p->flaps) {
		p->flaps = 0;
		snprintf(detail, sizeof(detail), "\"command\": \"flap\", \"peer\": %u", p->index);
		event("done", detail);
	}
	flush_peer(p);
}

static void
ask_refresh(struct speaker *p)
{
	if (!p->established)
		return;
	p->tx_len += bgp_refresh_encode(FAMILY_IPV4_UNICAST, REFRESH_REQUEST, tx_room(p, 64), 64);
	p->requests++;
	flush_peer(p);
}

/* ---- input ---- */

static void
heard(struct speaker *p, uint64_t now)
{
	if (p->heard_ns != 0 && now - p->heard_ns > p->longest_silence_ns)
		p->longest_silence_ns = now - p->heard_ns;
	p->heard_ns = now;
}

static void
probe_heard(const uint8_t *msg, size_t len, uint64_t now)
{
	static const uint8_t nlri[5] = {32, PROBE_ADDR >> 24, PROBE_ADDR >> 16 & 255,
		PROBE_ADDR >> 8 & 255, PROBE_ADDR & 255};
	/* COMMUNITIES of one */
	static const uint8_t communities[5] = {
		0xc0, 8, 4, PROBE_COMMUNITY >> 24, PROBE_COMMUNITY >> 16 & 255};
	const uint8_t *at;
	uint32_t n;

	if (probe.heard >= probe.count || memmem(msg, len, nlri, sizeof(nlri)) == NULL)
		return;
	at = memmem(msg, len, communities, sizeof(communities));
	if (at == NULL)
		return;
	n = (uint32_t)at[5] << 8 | at[6];
	if (n >= probe.sent || probe.latency_ns[n] != 0)
		return;
	/* skipped states count as arrived with this state */
	for (uint32_t i = 0; i <= n; i++) {
		if (probe.latency_ns[i] == 0) {
			probe.latency_ns[i] = now - probe.sent_ns[i];
			probe.heard++;
		}
	}
}

static void
message(struct speaker *p, uint8_t type, const uint8_t *msg, size_t len, uint64_t now)
{
	struct bgp_notification n;
	struct bgp_refresh r;
	char why[64];

	heard(p, now);
	switch (type) {
	case BGP_OPEN:
		p->open_received = true;
		p->tx_len += bgp_keepalive_encode(tx_room(p, BGP_HEADER_LEN), BGP_HEADER_LEN);
		flush_peer(p);
		break;
	case BGP_KEEPALIVE:
		if (p->open_received && !p->established) {
			p->established = p->ever = true;
			p->longest_silence_ns = 0;
			p->tx_len += bgp_end_of_rib_encode(FAMILY_IPV4_UNICAST, tx_room(p, 64), 64);
			flush_peer(p);
		}
		break;
	case BGP_NOTIFICATION:
		bgp_notification_decode(msg, len, &n);
		snprintf(why, sizeof(why), "notification %u/%u", n.code, n.subcode);
		session_end(p, why);
		break;
	case BGP_ROUTE_REFRESH:
		bgp_refresh_decode(msg, len, true, &r);
		p->borr += r.subtype == REFRESH_BEGIN;
		p->eorr += r.subtype == REFRESH_END;
		break;
	case BGP_UPDATE:
		p->updates++;
		if (probe.count > 0 && p->index == probe.to)
			probe_heard(msg, len, now);
		break;
	default:
		break;
	}
}

struct heard {
	struct speaker *p;
	uint64_t now;
};

/* False: the session has ended. */
static bool
take(void *ctx, uint8_t type, const uint8_t *msg, size_t len)
{
	struct heard *h = ctx;

	message(h->p, type, msg, len, h->now);
	return h->p->fd >= 0;
}

/* The peer reads no more until its rate allows, or reads again. */
static void
slow_check(struct speaker *p, uint64_t now)
{
	bool slowed = slow.rate > 0 &&
		      (double)p->slow_octets > slow.rate * (double)(now - slow.begin_ns) / 1e9;

	if (slowed == p->slowed || p->fd < 0)
		return;
	p->slowed = p->stalled = slowed;
	watch(p);
}

static void
receive(struct speaker *p)
{
	size_t turn = 0;
	struct heard h = {.p = p};

	while (p->fd >= 0 && turn < TURN_BYTES) {
		ssize_t n = recv(p->fd, p->rx + p->rx_len, RX_SIZE - p->rx_len, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			session_end(p, n == 0 ? "closed" : strerror(errno));
			return;
		}
		p->rx_len += (size_t)n;
		p->octets += (size_t)n;
		p->slow_octets += (size_t)n;
		turn += (size_t)n;
		h.now = now_ns();
		stream_messages(p->rx, &p->rx_len, BGP_EXTENDED_MSG_MAX, take, &h);
		slow_check(p, h.now);
		if (p->slowed)
			return;
	}
}

/* ---- connection ---- */

static void
open_message(struct speaker *p)
{
	struct bgp_open_options o = {.asn = opt.same_asn ? opt.asn : opt.asn + p->index,
		.hold_time_s = (uint16_t)opt.hold_s,
		.families = 1u << FAMILY_IPV4_UNICAST,
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.extended_message = true,
		.four_octet_as = true,
		/* FRR 8.4 answers no request of a peer with RFC 7313 and without graceful restart */
		.graceful_restart = true};
	struct ip_addr source;

	addr_parse(opt.source, &source);
	o.identifier = addr_v4(&source) + p->index;
	p->connecting = false;
	p->heard_ns = 0;
	p->keepalive_due_ns = now_ns() + opt.hold_s * NS_PER_S / 3;
	p->tx_len += bgp_open_encode(&o, tx_room(p, 4096), 4096);
	flush_peer(p);
}

static void
connect_peer(struct speaker *p)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(opt.port)},
			   from = {.sin_family = AF_INET};
	struct epoll_event e = {.events = EPOLLOUT, .data.ptr = p};
	struct ip_addr source;
	int one = 1;

	addr_parse(opt.source, &source);
	from.sin_addr.s_addr = htonl(addr_v4(&source) + p->index);
	inet_pton(AF_INET, opt.connect, &to.sin_addr);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		die("--source", errno);
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	p->connecting = true;
	if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
		session_end(p, strerror(errno));
		return;
	}
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->fd, &e) != 0)
		die("epoll", errno);
}

static void
writable(struct speaker *p)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (!p->connecting) {
		flush_peer(p);
		return;
	}
	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err != 0)
		session_end(p, strerror(err));
	else
		open_message(p);
}

/* ---- commands ---- */

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
probe_report(void)
{
	uint64_t *ns = probe.latency_ns;
	uint32_t n = 0;
	char detail[256];

	for (uint32_t i = 0; i < probe.count; i++) {
		if (probe.sent_ns[i] >= probe.from_ns && probe.sent_ns[i] <= probe.to_ns)
			ns[n++] = ns[i];
	}
	if (n == 0)
		ns[n++] = 0;
	qsort(ns, n, sizeof(*ns), by_value);
	snprintf(detail, sizeof(detail),
		"\"command\": \"probe\", \"count\": %u, \"p50_us\": %.1f, \"p99_us\": %.1f, "
		"\"max_us\": %.1f",
		n, (double)ns[n / 2] / 1e3, (double)ns[(n * 99ull + 99) / 100 - 1] / 1e3,
		(double)ns[n - 1] / 1e3);
	free(probe.sent_ns);
	free(probe.latency_ns);
	memset(&probe, 0, sizeof(probe));
	event("done", detail);
}

static void
probe_start(unsigned from, unsigned to, uint32_t count, uint32_t ms)
{
	if (from >= opt.peers || to >= opt.peers || count == 0 || count > PROBES_MAX ||
		probe.count != 0) {
		event("error", "\"reason\": \"probe\"");
		return;
	}
	probe.from = from;
	probe.to = to;
	probe.count = count;
	probe.step_ns = (uint64_t)ms * 1000000;
	probe.due_ns = now_ns();
	probe.to_ns = UINT64_MAX;
	probe.sent_ns = calloc(count, sizeof(uint64_t));
	probe.latency_ns = calloc(count, sizeof(uint64_t));
	if (probe.sent_ns == NULL || probe.latency_ns == NULL)
		die("probe", ENOMEM);
}

static void
report(void)
{
	uint64_t silence = 0, lost = 0, updates = 0, borr = 0, eorr = 0, requests = 0, octets = 0;
	unsigned established = 0, borr_max = 0, borr_min = UINT32_MAX;
	char detail[512];

	for (unsigned i = 0; i < opt.peers; i++) {
		struct speaker *p = &peer[i];

		established += p->established;
		lost += p->lost;
		updates += p->updates;
		octets += p->octets;
		borr += p->borr;
		eorr += p->eorr;
		requests += p->requests;
		borr_max = p->borr > borr_max ? (unsigned)p->borr : borr_max;
		borr_min = p->borr < borr_min ? (unsigned)p->borr : borr_min;
		silence = p->established && !p->stalled && p->longest_silence_ns > silence
				  ? p->longest_silence_ns
				  : silence;
		p->lost = p->updates = p->borr = p->eorr = p->requests = p->octets =
			p->longest_silence_ns = 0;
	}
	snprintf(detail, sizeof(detail),
		"\"established\": %u, \"lost\": %llu, \"updates\": %llu, \"octets\": %llu, "
		"\"requests\": %llu, \"borr\": %llu, "
		"\"eorr\": %llu, \"borr_min\": %u, \"borr_max\": %u, \"longest_silence_ms\": %.1f",
		established, (unsigned long long)lost, (unsigned long long)updates,
		(unsigned long long)octets, (unsigned long long)requests, (unsigned long long)borr,
		(unsigned long long)eorr, borr_min, borr_max, (double)silence / 1e6);
	event("report", detail);
}

/* Otherwise the kernel would buffer some megabytes. */
static void
buffer_shrink(const struct speaker *p)
{
	int size = 4096;

	if (p->fd >= 0)
		setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void
stall(unsigned i, bool stalled)
{
	char detail[160];

	if (i >= opt.peers) {
		event("error", "\"reason\": \"peer\"");
		return;
	}
	peer[i].stalled = stalled;
	if (stalled)
		buffer_shrink(&peer[i]);
	watch(&peer[i]);
	snprintf(detail, sizeof(detail), "\"peer\": %u, \"last\": \"%s\"", i, peer[i].last);
	event(stalled ? "stalled" : "resumed", detail);
}

/* False: end of input. */
static bool
command(char *line)
{
	char *word = strtok(line, " \n"), *arg[4];
	unsigned long v[4];

	for (unsigned i = 0; i < 4; i++) {
		arg[i] = strtok(NULL, " \n");
		v[i] = arg[i] != NULL ? strtoul(arg[i], NULL, 10) : 0;
	}
	if (word == NULL)
		return true;
	if (strcmp(word, "quit") == 0) {
		return false;
	} else if (strcmp(word, "refresh") == 0 && arg[0] == NULL) {
		for (unsigned i = 0; i < opt.peers; i++)
			ask_refresh(&peer[i]);
		event("done", "\"command\": \"refresh\"");
	} else if (strcmp(word, "refresh") == 0 && v[0] > 0 && v[1] > 0) {
		storm.rate = (double)v[0];
		storm.begin_ns = now_ns();
		storm.end_ns = storm.begin_ns + v[1] * NS_PER_S;
		storm.sent = 0;
	} else if (strcmp(word, "stall") == 0 || strcmp(word, "resume") == 0) {
		stall((unsigned)v[0], *word == 's');
	} else if (strcmp(word, "slow") == 0 && v[0] > 0) {
		slow.rate = (double)v[0];
		slow.begin_ns = now_ns();
		for (unsigned i = 0; i < opt.peers; i++) {
			peer[i].slow_octets = 0;
			buffer_shrink(&peer[i]);
		}
	} else if (strcmp(word, "flap") == 0 && v[0] < opt.peers && v[1] > 0) {
		peer[v[0]].flaps = (uint32_t)v[1];
		peer[v[0]].flap_announced = peer[v[0]].flap_withdrawn = 0;
	} else if (strcmp(word, "probe") == 0) {
		probe_start((unsigned)v[0], (unsigned)v[1], (uint32_t)v[2], (uint32_t)v[3]);
	} else if (strcmp(word, "probe-stop") == 0 && probe.sent > 0) {
		probe.count = probe.sent;
		probe.from_ns = v[0];
		probe.to_ns = v[1];
	} else if (strcmp(word, "report") == 0) {
		report();
	} else {
		event("error", "\"reason\": \"command\"");
	}
	return true;
}

/* ---- time ---- */

static void
storm_run(uint64_t now)
{
	uint64_t due;
	char detail[96];

	if (storm.end_ns == 0)
		return;
	due = (uint64_t)((double)((now < storm.end_ns ? now : storm.end_ns) - storm.begin_ns) *
			 storm.rate / 1e9);
	for (; storm.sent < due; storm.sent++)
		ask_refresh(&peer[storm.next++ % opt.peers]);
	if (now < storm.end_ns)
		return;
	snprintf(detail, sizeof(detail), "\"command\": \"refresh\", \"requests\": %llu",
		(unsigned long long)storm.sent);
	storm.end_ns = 0;
	event("done", detail);
}

static void
probe_run(uint64_t now)
{
	struct speaker *p = &peer[probe.from];

	if (probe.count == 0)
		return;
	if (probe.sent < probe.count && now >= probe.due_ns && p->established) {
		probe.sent_ns[probe.sent] = now_ns();
		put_run(p, PROBE_ADDR, 1, false, (uint16_t)probe.sent++);
		flush_peer(p);
		probe.due_ns += probe.step_ns;
	}
	if (probe.heard >= probe.count)
		probe_report();
}

static void
turn(uint64_t now)
{
	for (unsigned i = 0; i < opt.peers; i++) {
		struct speaker *p = &peer[i];

		if (p->fd < 0 && now >= p->retry_ns && !p->ever)
			connect_peer(p);
		if (p->established && now >= p->keepalive_due_ns) {
			p->tx_len +=
				bgp_keepalive_encode(tx_room(p, BGP_HEADER_LEN), BGP_HEADER_LEN);
			p->keepalive_due_ns = now + opt.hold_s * NS_PER_S / 3;
			flush_peer(p);
		}
		flap_more(p);
		slow_check(p, now);
	}
	storm_run(now);
	probe_run(now);
}

static void
parse_options(int argc, char **argv)
{
	const struct tool_option options[] = {{"connect", OPTION_TEXT, &opt.connect},
		{"source", OPTION_TEXT, &opt.source}, {"asn", OPTION_U32, &opt.asn},
		{"peers", OPTION_U32, &opt.peers}, {"hold", OPTION_U32, &opt.hold_s},
		{"port", OPTION_U16, &opt.port}, {"same-asn", OPTION_FLAG, &opt.same_asn},
		{"next-hop", OPTION_TEXT, &opt.next_hop}};
	struct ip_addr source, next_hop;

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (opt.connect == NULL || opt.source == NULL || addr_parse(opt.source, &source) != 0 ||
		source.afi != AFI_IPV4 || addr_parse(opt.next_hop, &next_hop) != 0 ||
		opt.peers == 0 || opt.peers > PEERS_MAX || opt.hold_s < 3) {
		fprintf(stderr,
			"crowd: --connect, --source and --peers (1 to %u) are needed, --hold is at "
			"least 3\n",
			PEERS_MAX);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL}, ready[64];

	parse_options(argc, argv);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	peer = calloc(opt.peers, sizeof(*peer));
	if (epoll_fd < 0 || peer == NULL ||
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &in) != 0)
		die("start", errno);
	for (unsigned i = 0; i < opt.peers; i++) {
		peer[i].fd = -1;
		peer[i].index = i;
		peer[i].rx = malloc(RX_SIZE);
		if (peer[i].rx == NULL)
			die("start", ENOMEM);
	}
	for (;;) {
		int n = epoll_wait(epoll_fd, ready, 64, probe.count || storm.end_ns ? 1 : 20);

		for (int i = 0; i < n; i++) {
			struct speaker *p = ready[i].data.ptr;

			if (p == NULL) {
				if (!commands_read(command))
					exit(0);
				continue;
			}
			if (p->fd >= 0 && (ready[i].events & EPOLLOUT))
				writable(p);
			if (p->fd >= 0 && (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) &&
				!p->connecting)
				receive(p);
		}
		turn(now_ns());
	}
}
