/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink: a BGP peer that receives an IPv4 table and counts the differences. Commands on standard input, one a line; answers on standard
 * output, one JSON object a line.
 *
 *   sink --connect ADDRESS [--port N] [--source ADDRESS] --asn N [--hold SECONDS]
 *   sink --listen ADDRESS [--port N] --asn N [--hold SECONDS]      waits for the connection
 *
 * Commands:
 *   mark     the present table becomes the base of `report`
 *   report   {"event": "report", "established", "total", "added", "removed", "changed": against the mark; "updates", "octets": UPDATE
 *            messages since the mark; "change_ns": time of the last UPDATE with a difference, 0: none}
 *   stat     {"event": "stat", "updates", "change_ns"}, without a cost
 *   quit
 * A route is a prefix and a hash of the attributes as received, so a speaker with a varying order of attributes would appear to
 * change them. Times are CLOCK_MONOTONIC, one clock for the whole machine.
 */
#include "control/bgp/bgp_msg.h"
#include "control/base/threads.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS (1u << 22) /* at most half full: two million prefixes */
#define RX_SIZE (1u << 20)
#define CONNECT_RETRY_MS 100

static struct {
	const char *connect, *source;
	bool listen;
	uint32_t asn, hold_s;
	uint16_t port;
} opt = {.asn = 65001, .hold_s = 90, .port = 179};

struct slot {
	uint64_t key; /* address << 8 | length, plus 1; 0: free */
	uint32_t now, mark; /* hash of the attributes; 0: not announced */
};

static struct slot *slot;
static uint32_t used;
static struct {
	int fd;
	bool open_received, established;
	uint8_t rx[RX_SIZE];
	size_t rx_len;
	uint64_t keepalive_due_ns, updates, octets, change_ns;
} s = {.fd = -1};

static void
die(const char *what, int err)
{
	fprintf(stderr, "sink: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

/* ---- the table ---- */

static struct slot *
slot_of(uint64_t key)
{
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 42);

	for (;; at = (at + 1) % SLOTS) {
		if (slot[at].key == key)
			return &slot[at];
		if (slot[at].key != 0)
			continue;
		if (++used > SLOTS / 2)
			die("table", ENOSPC);
		slot[at].key = key;
		return &slot[at];
	}
}

static uint64_t
mixed(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0xff51afd7ed558ccdull;
	return h ^ h >> 32;
}

/* Never 0. */
static uint32_t
attributes_hash(const uint8_t *p, size_t len)
{
	uint64_t h = 0x9e3779b97f4a7c15ull ^ len, w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = mixed(h, w);
	}
	w = 0;
	memcpy(&w, p, len);
	h = mixed(mixed(h, w), 0);
	return (uint32_t)h != 0 ? (uint32_t)h : 1;
}

/* RFC 4271 4.3: length in bits, then the octets. True: the table has changed. */
static bool
prefixes(const uint8_t *p, size_t len, uint32_t attributes)
{
	const uint8_t *end = p + len;
	bool different = false;

	while (p < end) {
		unsigned bits = *p++, octets = (bits + 7) / 8;
		uint32_t addr = 0;
		struct slot *r;

		if (bits > 32 || octets > (size_t)(end - p))
			die("UPDATE", EPROTO);
		for (unsigned i = 0; i < octets; i++)
			addr |= (uint32_t)p[i] << (24 - 8 * i);
		p += octets;
		r = slot_of(((uint64_t)addr << 8 | bits) + 1);
		different |= r->now != attributes;
		r->now = attributes;
	}
	return different;
}

static void
update(const uint8_t *msg, size_t len, uint64_t now)
{
	const uint8_t *p = msg + BGP_HEADER_LEN, *end = msg + len;
	size_t withdrawn, attributes;
	bool different;

	if (end - p < 4)
		die("UPDATE", EPROTO);
	withdrawn = (size_t)p[0] << 8 | p[1];
	if (withdrawn + 4 > (size_t)(end - p))
		die("UPDATE", EPROTO);
	different = prefixes(p + 2, withdrawn, 0);
	p += 2 + withdrawn;
	attributes = (size_t)p[0] << 8 | p[1];
	p += 2;
	if (attributes > (size_t)(end - p))
		die("UPDATE", EPROTO);
	if (end > p + attributes)
		different |= prefixes(p + attributes, (size_t)(end - p) - attributes,
			attributes_hash(p, attributes));
	s.updates++;
	s.octets += len;
	if (different)
		s.change_ns = now;
}

static void
mark(void)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		slot[i].mark = slot[i].now;
	s.updates = s.octets = s.change_ns = 0;
	printf("{\"event\": \"done\", \"command\": \"mark\"}\n");
}

static void
report(void)
{
	unsigned total = 0, added = 0, removed = 0, changed = 0;

	for (uint32_t i = 0; i < SLOTS; i++) {
		const struct slot *r = &slot[i];

		total += r->now != 0;
		added += r->now != 0 && r->mark == 0;
		removed += r->now == 0 && r->mark != 0;
		changed += r->now != 0 && r->mark != 0 && r->now != r->mark;
	}
	printf("{\"event\": \"report\", \"established\": %s, \"total\": %u, \"added\": %u, "
	       "\"removed\": %u, \"changed\": %u, "
	       "\"updates\": %llu, \"octets\": %llu, \"change_ns\": %llu}\n",
		s.established ? "true" : "false", total, added, removed, changed,
		(unsigned long long)s.updates, (unsigned long long)s.octets,
		(unsigned long long)s.change_ns);
}

/* ---- the session ---- */

static void
say(const uint8_t *msg, size_t len)
{
	/* a few octets into an empty socket buffer */
	if (len == 0 || send(s.fd, msg, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send", errno);
}

static void
say_keepalive(uint64_t now)
{
	uint8_t msg[BGP_HEADER_LEN];

	say(msg, bgp_keepalive_encode(msg, sizeof(msg)));
	s.keepalive_due_ns = now + (uint64_t)opt.hold_s * 1000000000u / 3;
}

static int
address(const char *text, struct sockaddr_in *out)
{
	*out = (struct sockaddr_in){.sin_family = AF_INET};
	return text == NULL || inet_pton(AF_INET, text, &out->sin_addr) == 1 ? 0 : -EINVAL;
}

static void
session_connect(void)
{
	struct sockaddr_in to, from;

	s.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s.fd < 0)
		die("socket", errno);
	if (address(opt.connect, &to) != 0 || address(opt.source, &from) != 0)
		die("address", EINVAL);
	to.sin_port = htons(opt.port);
	if (opt.source != NULL && bind(s.fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		die("bind", errno);
	if (connect(s.fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		close(s.fd);
		s.fd = -1;
	}
}

static void
session_accept(void)
{
	static int listener = -1;
	struct sockaddr_in at;
	int one = 1;

	if (listener < 0) {
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (address(opt.source, &at) != 0)
			die("--listen", EINVAL);
		at.sin_port = htons(opt.port);
		setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
			listen(listener, 1) != 0)
			die("--listen", errno);
	}
	s.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (s.fd < 0)
		die("accept", errno);
}

static void
session_begin(void)
{
	struct bgp_open_options o = {.asn = opt.asn,
		.hold_time_s = (uint16_t)opt.hold_s,
		.families = 1u << FAMILY_IPV4_UNICAST,
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.four_octet_as = true,
		.graceful_restart = true};
	struct sockaddr_in from;
	uint8_t msg[512];
	int one = 1;

	if (opt.listen)
		session_accept();
	else
		session_connect();
	if (s.fd < 0)
		return;
	address(opt.source, &from);
	setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	o.identifier = ntohl(from.sin_addr.s_addr);
	s.rx_len = 0;
	s.open_received = false;
	say(msg, bgp_open_encode(&o, msg, sizeof(msg)));
}

static void
session_end(const char *why)
{
	if (s.established) {
		printf("{\"event\": \"down\", \"why\": \"%s\"}\n", why);
		fflush(stdout);
	}
	close(s.fd);
	s.fd = -1;
	s.established = false;
}

/* False: the session has ended. */
static bool
message(uint8_t type, const uint8_t *msg, size_t len, uint64_t now)
{
	switch (type) {
	case BGP_OPEN:
		s.open_received = true;
		say_keepalive(now);
		return true;
	case BGP_KEEPALIVE:
		if (s.open_received && !s.established) {
			s.established = true;
			printf("{\"event\": \"established\"}\n");
			fflush(stdout);
		}
		return true;
	case BGP_UPDATE:
		update(msg, len, now);
		return true;
	case BGP_NOTIFICATION:
		session_end("notification");
		return false;
	default:
		return true;
	}
}

static void
receive(void)
{
	ssize_t n = recv(s.fd, s.rx + s.rx_len, sizeof(s.rx) - s.rx_len, MSG_DONTWAIT);
	uint64_t now = now_ns();
	size_t at = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		session_end(n == 0 ? "closed" : strerror(errno));
		return;
	}
	s.rx_len += (size_t)n;
	while (s.rx_len - at >= BGP_HEADER_LEN) {
		uint8_t type;
		uint16_t len;
		struct bgp_error e = bgp_header_decode(s.rx + at, BGP_MSG_MAX, &type, &len);

		if (e.code != 0)
			die("header", EPROTO);
		if (len > s.rx_len - at)
			break;
		if (!message(type, s.rx + at, len, now))
			return;
		at += len;
	}
	memmove(s.rx, s.rx + at, s.rx_len - at);
	s.rx_len -= at;
}

/* ---- commands ---- */

static void
command(const char *line)
{
	if (strcmp(line, "mark") == 0)
		mark();
	else if (strcmp(line, "report") == 0)
		report();
	else if (strcmp(line, "stat") == 0)
		printf("{\"event\": \"stat\", \"updates\": %llu, \"change_ns\": %llu}\n",
			(unsigned long long)s.updates, (unsigned long long)s.change_ns);
	else if (strcmp(line, "quit") == 0)
		exit(0);
	else
		printf("{\"event\": \"error\", \"why\": \"no such command\"}\n");
	fflush(stdout);
}

static void
read_commands(void)
{
	static char in[256];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, in + len, sizeof(in) - 1 - len);
	char *end;

	if (n <= 0)
		exit(0);
	len += (size_t)n;
	in[len] = '\0';
	while ((end = strchr(in, '\n')) != NULL) {
		*end = '\0';
		command(in);
		len -= (size_t)(end + 1 - in);
		memmove(in, end + 1, len + 1);
	}
}

static void
loop(void)
{
	for (;;) {
		struct pollfd p[2] = {
			{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = s.fd, .events = POLLIN}};

		if (s.fd < 0)
			session_begin();
		p[1].fd = s.fd;
		if (poll(p, 2, s.fd < 0 ? CONNECT_RETRY_MS : 1000) < 0 && errno != EINTR)
			die("poll", errno);
		if (p[0].revents != 0)
			read_commands();
		if (s.fd >= 0 && p[1].revents != 0)
			receive();
		if (s.established && now_ns() >= s.keepalive_due_ns)
			say_keepalive(now_ns());
	}
}

static void
usage(void)
{
	fprintf(stderr, "usage: sink {--connect ADDRESS [--source ADDRESS] | --listen ADDRESS} "
			"[--port N] --asn N [--hold SECONDS]\n");
	exit(2);
}

static uint32_t
number(const char *text, uint32_t max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n > max)
		usage();
	return (uint32_t)n;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"connect", 1, NULL, 'c'}, {"port", 1, NULL, 'p'},
		{"source", 1, NULL, 's'}, {"asn", 1, NULL, 'a'}, {"hold", 1, NULL, 'h'},
		{"listen", 1, NULL, 'l'}, {NULL, 0, NULL, 0}};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'c')
			opt.connect = optarg;
		else if (o == 's' || o == 'l') {
			opt.source = optarg;
			opt.listen |= o == 'l';
		} else if (o == 'p')
			opt.port = (uint16_t)number(optarg, UINT16_MAX);
		else if (o == 'a')
			opt.asn = number(optarg, UINT32_MAX);
		else if (o == 'h')
			opt.hold_s = number(optarg, UINT16_MAX);
		else
			usage();
	}
	if ((opt.connect == NULL) == !opt.listen || optind != argc || opt.hold_s < 3)
		usage();
	slot = calloc(SLOTS, sizeof(*slot));
	if (slot == NULL)
		die("table", ENOMEM);
	loop();
}
