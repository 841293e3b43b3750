/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * feed: a BGP peer with a full table. Commands on standard input, one a line; events on
 * standard output, one JSON object a line.
 *
 *   feed --connect ADDRESS [--port N] [--source ADDRESS] [--next-hop ADDRESS] --asn N --peer-asn N [--ipv6] [--count N | --mrt FILE]
 *        [--seed N] [--per-set N [--attributes SEED] [--shuffle] [--own-as] [--hops N] [--communities N]] [--wait] [--mrt-updates FILE]
 *        [--vpn [--rds N]]
 *   feed [--ipv6] --count N --list FILE        writes `PREFIX ORIGIN` lines and ends
 *
 * With --ipv6 the table is IPv6; the session has the family of ADDRESS.
 *
 * --per-set N: N neighbouring prefixes share an attribute set drawn by SEED, instead of the sets of the generator; with --shuffle in an order drawn by
 * SEED, with --own-as each path begins with our AS, with --hops and --communities all sets have that many. --wait: {"event": "ready"} when the table is encoded;
 * the table leaves at the command `go`.
 *
 * --vpn: VPNv4, or VPNv6 with --ipv6. The table is sent once for each of N route distinguishers (1), with a label and a route target of the distinguisher.
 * An index, below, is that of the prefix plus the number of prefixes times that of the distinguisher; single updates are of the first distinguisher.
 *
 * Commands: `withdraw EVERY OFFSET` (each prefix whose index modulo EVERY is OFFSET), `announce EVERY OFFSET`,
 * `single UPDATES SEED` (UPDATES messages of one prefix each, encoded before the first leaves: withdrawn or changed, and restored some thousand
 * updates later; ends with the full table),
 * `churn UPDATES SEED` (UPDATES prefixes, each alone: attributes changed, withdrawn, announced again; ends with the full table),
 * `pace UPDATES RATE SEED` (RATE a second, a message and a prefix each: withdrawn, and announced again 10,000 updates later; ends with the
 * full table),
 * `rate N EVERY OFFSET` (from now on N updates a second of prefixes whose index modulo EVERY is OFFSET: withdrawn or changed, and restored some
 * thousand updates later; N 0 restores all, and {"event": "paced"} has the counts), `play PERCENT` (the updates of --mrt-updates at PERCENT of the
 * recorded speed, with our next hop; {"event": "played"}), `quit`. Further commands are answered by {"event": "done", ...} when the kernel has taken
 * the last octet. A ROUTE-REFRESH is answered with the present table.
 */
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/base/threads.h"
#include "tests/bench/stream.h"
#include "tests/bench/table.h"
#include "tests/bench/updates.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_ATTEMPTS 600 /* one each 100 ms: a daemon under test starts slowly */
#define HOLD_S 90

static struct {
	const char *connect, *source, *next_hop, *mrt, *list, *mrt_updates;
	enum family family;
	uint32_t asn, peer_asn, count, rds;
	uint64_t seed;
	uint16_t port;
	bool wait, own_as;
	struct table_own own;
} opt = {.rds = 1,
	.count = 1000000,
	.seed = 1,
	.own.seed = 1,
	.port = 179,
	.asn = 64601,
	.peer_asn = 64601};

static struct table table;
static bool *withdrawn; /* by index */
static struct {
	int fd;
	uint8_t *out; /* octets to send; grows */
	size_t out_len, out_size, out_sent;
	uint8_t in[2 * BGP_EXTENDED_MSG_MAX];
	size_t in_len;
	bool open_received, established;
	bool held; /* octets wait for `go` */
	uint64_t keepalive_due_ns, heard_ns;
	const char *running; /* the command with octets to send, or NULL */
	bool refresh; /* requested; requests with octets to send are merged */
	uint64_t routes; /* received and dropped */
} s = {.fd = -1};

#define RATE_OPEN 4096u /* at most this many prefixes differ from the table at a time */
#define BEHIND_BYTES                                                                               \
	(4u << 20) /* with more octets to send the far end is too slow: no more updates */

/* Single updates at a rate. */
static struct {
	uint32_t rate, every, offset;
	uint64_t begin_ns, made, skipped, state;
	uint32_t open[RATE_OPEN]; /* a ring of indices */
	uint32_t first, count;
} steady;

static struct {
	struct updates *file;
	struct recorded next;
	uint64_t begin_ns, percent, messages, prefixes, unreadable, late_ns;
} play;

static void
event(const char *name, const char *detail)
{
	printf("{\"event\": \"%s\", \"time_ns\": %llu%s%s}\n", name, (unsigned long long)now_ns(),
		*detail ? ", " : "", detail);
	fflush(stdout);
}

/* ---- output ---- */

static uint8_t *
out_room(size_t len)
{
	if (s.out_len + len > s.out_size) {
		size_t size = 2 * s.out_size + len + (1u << 20);
		uint8_t *out = realloc(s.out, size);

		if (out == NULL)
			die("output", ENOMEM);
		s.out = out;
		s.out_size = size;
	}
	return s.out + s.out_len;
}

static const struct bgp_encode_options encode = {.as4 = true, .send_communities = true};

struct run {
	struct update_packer packer;
	uint32_t set, rd;
	bool open, withdraw;
};

/* ---- VPN families ---- */

#define VPN_ASN 64512ull /* administrator of distinguishers and targets */

static bool
is_vpn(void)
{
	return family_safi(opt.family) == SAFI_VPN;
}

static uint32_t
routes_count(void)
{
	return table.entry_count * opt.rds;
}

/* The attributes of a set for a distinguisher; valid until the next call. */
static const struct attr_set *
set_attrs(uint32_t set, uint32_t rd)
{
	static alignas(8) uint8_t room[ATTR_SET_MAX + 8];
	const struct attr_set *from = table.sets[set];
	struct attr_set *to = (struct attr_set *)(void *)room;
	size_t at = (size_t)(attr_large_communities(from) - from->var);

	if (!is_vpn())
		return from;
	memcpy(to, from, attr_set_size(from));
	memmove(to->var + at + 8, to->var + at, attr_set_var_len(from) - at);
	ext_community_put(
		(struct ext_community){0x0002ull << 48 | VPN_ASN << 32 | (rd + 1)}, to->var + at);
	to->ext_community_count++;
	return to;
}

/* False: no room. */
static bool
prefix_add(struct run *r, const struct prefix *p)
{
	uint8_t label[LABEL_OCTETS];
	struct nlri n = {.prefix = *p,
		.rd = {VPN_ASN << 32 | (r->rd + 1)},
		.label_count = 1,
		.labels = label};

	if (!is_vpn())
		return update_packer_add(&r->packer, p, 0);
	label_put(label, MPLS_FIRST_UNRESERVED + r->rd, true);
	return update_packer_add_form(&r->packer, &n);
}

static void
run_end(struct run *r)
{
	if (!r->open)
		return;
	s.out_len += update_packer_finish(&r->packer);
	r->open = false;
}

/* Neighbours with one attribute set share messages. */
static void
run_add(struct run *r, uint32_t index, bool withdraw)
{
	const struct table_entry *e = &table.entry[index % table.entry_count];
	uint32_t rd = index / table.entry_count;

	withdrawn[index] = withdraw;
	for (int attempt = 0; attempt < 2; attempt++) {
		if (r->open && (r->withdraw != withdraw ||
				       (!withdraw && (r->set != e->set || r->rd != rd))))
			run_end(r);
		if (!r->open) {
			if (!update_packer_begin(&r->packer, opt.family,
				    withdraw ? NULL : set_attrs(e->set, rd), &encode,
				    out_room(BGP_MSG_MAX), BGP_MSG_MAX))
				return; /* attributes beyond one message: cannot be sent */
			r->open = true;
			r->withdraw = withdraw;
			r->set = e->set;
		}
		r->rd = rd;
		if (prefix_add(r, &e->prefix))
			return;
		run_end(r);
	}
}

static void
table_send(unsigned every, unsigned offset, bool withdraw)
{
	struct run r = {.open = false};

	for (uint32_t i = 0; i < routes_count(); i++) {
		if (i % every == offset)
			run_add(&r, i, withdraw);
	}
	run_end(&r);
}

/* RFC 2918 4 */
static void
refresh_answer(void)
{
	struct run r = {.open = false};

	s.refresh = false;
	for (uint32_t i = 0; i < routes_count(); i++) {
		if (!withdrawn[i])
			run_add(&r, i, false);
	}
	run_end(&r);
	event("refresh", "");
}

/* Each round withdraws or changes one prefix and restores the prefix. Ends with the full table. */
static void
churn(uint32_t updates, uint64_t seed)
{
	uint64_t state = seed;

	for (uint32_t i = 0; i < updates; i += 2) {
		uint32_t index;
		struct run r = {.open = false};

		state = hash_mix(state + 0x9e3779b97f4a7c15u);
		index = (uint32_t)(state % table.entry_count);
		if (state >> 63) {
			run_add(&r, index, true);
		} else {
			uint32_t set = table.entry[index].set;

			table.entry[index].set = (uint32_t)((state >> 20) % table.set_count);
			run_add(&r, index, false);
			table.entry[index].set = set;
		}
		run_end(&r);
		run_add(&r, index, false);
		run_end(&r);
	}
}

/* ---- pace ---- */

#define PACE_GONE 10000u /* withdrawn prefixes at a time */
#define PACE_BACKLOG                                                                               \
	(4u << 20) /* with more octets to send the far end is too slow: no more updates */

/* Prefixes are drawn this far ahead, so that cache misses overlap; otherwise the misses take a third of the time. */
#define PACE_AHEAD 16u

static struct {
	uint32_t left, rate;
	uint64_t state, began_ns, sent;
	uint32_t gone[PACE_GONE]; /* by `sent`, the oldest at `at` */
	unsigned at, count;
	uint32_t drawn[PACE_AHEAD]; /* the next at `next` */
	unsigned next;
} pace;

static void
prefetch_entry(uint32_t index)
{
	__builtin_prefetch(&table.entry[index]);
	__builtin_prefetch(&withdrawn[index], 1);
}

/* Fetches the attributes; half as far ahead, after the entry. */
static void
prefetch_set(uint32_t index)
{
	const char *set = (const char *)table.sets[table.entry[index].set];

	__builtin_prefetch(set);
	__builtin_prefetch(set + 64);
}

static uint32_t
pace_draw(void)
{
	uint32_t index;

	pace.state = hash_mix(pace.state + 0x9e3779b97f4a7c15u);
	index = (uint32_t)(pace.state % table.entry_count);
	prefetch_entry(index);
	return index;
}

static void
pace_begin(uint32_t updates, uint32_t rate, uint64_t seed)
{
	pace.left = updates;
	pace.rate = rate;
	pace.state = seed;
	pace.began_ns = now_ns();
	pace.sent = 0;
	pace.at = pace.count = pace.next = 0;
	for (unsigned i = 0; i < PACE_AHEAD; i++)
		pace.drawn[i] = pace_draw();
}

static uint32_t
pace_choose(void)
{
	uint32_t index;

	do {
		index = pace.drawn[pace.next];
		pace.drawn[pace.next] = pace_draw();
		pace.next = (pace.next + 1) % PACE_AHEAD;
	} while (withdrawn[index]);
	return index;
}

/* The prefix withdrawn for the longest time. */
static uint32_t
pace_back(void)
{
	uint32_t index = pace.gone[pace.at];

	pace.at = (pace.at + 1) % PACE_GONE;
	pace.count--;
	if (pace.count > PACE_AHEAD) {
		prefetch_entry(pace.gone[(pace.at + PACE_AHEAD) % PACE_GONE]);
		prefetch_set(pace.gone[(pace.at + PACE_AHEAD / 2) % PACE_GONE]);
	}
	return index;
}

static void
pace_one(void)
{
	bool back = pace.left <= pace.count || pace.count == PACE_GONE;
	struct run r = {.open = false};
	uint32_t index = back ? pace_back() : pace_choose();

	run_add(&r, index, !back);
	run_end(&r);
	if (!back)
		pace.gone[(pace.at + pace.count++) % PACE_GONE] = index;
	pace.left--;
	pace.sent++;
}

static void
pace_run(void)
{
	uint64_t due = (now_ns() - pace.began_ns) * pace.rate / 1000000000u;

	while (pace.left > 0 && pace.sent < due && s.out_len - s.out_sent < PACE_BACKLOG)
		pace_one();
}

/* ---- updates at a steady rate ---- */

/* One prefix in one message. `set`: different attributes. */
static void
say_one(uint32_t index, bool withdraw, uint32_t set)
{
	uint32_t own = table.entry[index].set;
	struct run r = {.open = false};

	table.entry[index].set = set;
	run_add(&r, index, withdraw);
	table.entry[index].set = own;
	run_end(&r);
}

static void
steady_restore(void)
{
	uint32_t index = steady.open[steady.first];

	steady.first = (steady.first + 1) % RATE_OPEN;
	steady.count--;
	say_one(index, false, table.entry[index].set);
	steady.made++;
}

static void
steady_touch(void)
{
	uint32_t most = (table.entry_count - steady.offset + steady.every - 1) / steady.every,
		 index;

	steady.state = hash_mix(steady.state + 0x9e3779b97f4a7c15u);
	index = (uint32_t)(steady.state % most) * steady.every + steady.offset;
	say_one(index, steady.state >> 63, (uint32_t)((steady.state >> 20) % table.set_count));
	steady.open[(steady.first + steady.count++) % RATE_OPEN] = index;
	steady.made++;
}

static void
steady_one(void)
{
	if (steady.count == RATE_OPEN || (steady.count > RATE_OPEN / 2 && steady.made % 2))
		steady_restore();
	else
		steady_touch();
}

static void
single(uint32_t updates, uint64_t seed)
{
	steady.state = seed;
	steady.every = 1;
	steady.offset = 0;
	for (steady.made = 0; steady.made + steady.count < updates;)
		steady_one();
	while (steady.count > 0)
		steady_restore();
}

static void
steady_run(uint64_t now)
{
	uint64_t due;

	if (steady.rate == 0)
		return;
	due = (now - steady.begin_ns) / 1000 * steady.rate / 1000000;
	while (steady.made + steady.skipped < due) {
		if (s.out_len - s.out_sent > BEHIND_BYTES) {
			steady.skipped = due - steady.made;
			return;
		}
		steady_one();
	}
}

static void
steady_set(uint32_t rate, uint32_t every, uint32_t offset)
{
	char detail[96];

	if (rate == 0) {
		snprintf(detail, sizeof(detail), "\"updates\": %llu, \"skipped\": %llu",
			(unsigned long long)steady.made, (unsigned long long)steady.skipped);
		event("paced", detail);
	}
	while (rate == 0 && steady.count > 0)
		steady_restore();
	steady.rate = rate;
	steady.every = every;
	steady.offset = offset;
	steady.begin_ns = now_ns();
	steady.made = steady.skipped = 0;
}

/* ---- recorded updates ---- */

static void
play_prefixes(struct bgp_nlri_field *field, const struct attr_set *attrs)
{
	struct update_packer packer;
	struct nlri n;
	bool open = false,
	     more = field->family == opt.family && nlri_read(&field->nlri, opt.family, false, &n);

	while (more) {
		if (!open && !update_packer_begin(&packer, opt.family, attrs, &encode,
				     out_room(BGP_MSG_MAX), BGP_MSG_MAX))
			return;
		open = true;
		if (update_packer_add(&packer, &n.prefix, 0)) {
			play.prefixes++;
			more = nlri_read(&field->nlri, opt.family, false, &n);
			continue;
		}
		s.out_len += update_packer_finish(&packer);
		open = false;
	}
	if (open)
		s.out_len += update_packer_finish(&packer);
}

static void
play_message(const struct recorded *m)
{
	static uint8_t room[ATTR_SET_MAX] __attribute__((aligned(8)));
	struct attr_set *attrs = (struct attr_set *)(void *)room;
	struct bgp_update_options o = {.as4 = m->as4,
		.external = true,
		.families = 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST,
		.extended_message = true};
	struct bgp_update u;

	play.messages++;
	bgp_update_decode(m->msg, m->len, &o, attrs, &u);
	if (u.error.severity >= TREAT_AS_WITHDRAW) {
		play.unreadable++;
		return;
	}
	for (unsigned i = 0; i < u.withdrawn_count; i++)
		play_prefixes(&u.withdrawn[i], NULL);
	if (!u.has_attrs)
		return;
	attrs->next_hop = table.sets[0]->next_hop;
	memset(&attrs->next_hop_link_local, 0, sizeof(attrs->next_hop_link_local));
	for (unsigned i = 0; i < u.announced_count; i++)
		play_prefixes(&u.announced[i], attrs);
}

static void
play_end(void)
{
	char detail[200];

	updates_close(play.file);
	play.file = NULL;
	snprintf(detail, sizeof(detail),
		"\"messages\": %llu, \"prefixes\": %llu, \"unreadable\": %llu, \"late_ms\": %.1f",
		(unsigned long long)play.messages, (unsigned long long)play.prefixes,
		(unsigned long long)play.unreadable, (double)play.late_ns / 1e6);
	event("played", detail);
}

static void
play_step(void)
{
	int err = updates_next(play.file, &play.next);

	if (err < 0)
		die(opt.mrt_updates, err);
	if (err == 0)
		play_end();
}

static void
play_run(uint64_t now)
{
	while (play.file != NULL && s.out_len - s.out_sent < BEHIND_BYTES) {
		uint64_t due = play.begin_ns + play.next.at_ns / play.percent * 100;

		if (due > now)
			return;
		if (now - due > play.late_ns)
			play.late_ns = now - due;
		play_message(&play.next);
		play_step();
	}
}

static bool
play_start(uint32_t percent)
{
	int err;

	if (opt.mrt_updates == NULL || percent == 0 || play.file != NULL)
		return false;
	memset(&play, 0, sizeof(play));
	err = updates_open(&play.file, opt.mrt_updates);
	if (err != 0)
		die(opt.mrt_updates, err);
	play.percent = percent;
	play.begin_ns = now_ns();
	play_step();
	return true;
}

static void
flush(void)
{
	if (s.held)
		return;
	while (s.out_sent < s.out_len) {
		ssize_t n = send(s.fd, s.out + s.out_sent, s.out_len - s.out_sent, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			event("down", "\"reason\": \"send failed\"");
			exit(3);
		}
		s.out_sent += (size_t)n;
	}
	s.out_len = s.out_sent = 0;
	if (s.running != NULL && pace.left == 0) {
		char detail[64];

		snprintf(detail, sizeof(detail), "\"command\": \"%s\"", s.running);
		s.running = NULL;
		event("done", detail);
	}
	if (s.refresh)
		refresh_answer(); /* leaves with the next turn */
}

/* ---- input ---- */

static void
established(void)
{
	char detail[96];

	s.established = true;
	event("established", "");
	flush(); /* our KEEPALIVE is not held */
	table_send(1, 0, false);
	s.out_len += bgp_end_of_rib_encode(opt.family, out_room(64), 64);
	snprintf(detail, sizeof(detail), "\"prefixes\": %u, \"attribute_sets\": %u", routes_count(),
		table.set_count);
	s.held = opt.wait;
	event(opt.wait ? "ready" : "sending", detail);
	s.running = "table";
}

static bool
message(void *ctx, uint8_t type, const uint8_t *msg, size_t len)
{
	struct bgp_notification n;
	char detail[96];

	s.heard_ns = now_ns();
	switch (type) {
	case BGP_OPEN:
		s.open_received = true;
		s.out_len += bgp_keepalive_encode(out_room(BGP_HEADER_LEN), BGP_HEADER_LEN);
		break;
	case BGP_KEEPALIVE:
		if (s.open_received && !s.established)
			established();
		break;
	case BGP_NOTIFICATION:
		bgp_notification_decode(msg, len, &n);
		snprintf(detail, sizeof(detail), "\"notification\": \"%u/%u\"", n.code, n.subcode);
		event("down", detail);
		exit(3);
	case BGP_ROUTE_REFRESH:
		s.refresh = true;
		break;
	default:
		break; /* received routes are ignored */
	}
	return true;
}

static void
receive(void)
{
	ssize_t n = recv(s.fd, s.in + s.in_len, sizeof(s.in) - s.in_len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		event("down", "\"reason\": \"closed\"");
		exit(3);
	}
	s.in_len += (size_t)n;
	stream_messages(s.in, &s.in_len, BGP_MSG_MAX, message, NULL);
}

/* ---- commands ---- */

static void
quit(void)
{
	s.out_len += bgp_cease_encode(CEASE_ADMIN_SHUTDOWN, NULL, out_room(256), 256);
	flush();
	exit(0);
}

/* False: end of input. */
static bool
command(char *line)
{
	char *word = strtok(line, " \n");
	uint32_t v[3] = {0}, x, y;

	for (unsigned i = 0; i < 3; i++) {
		char *arg = strtok(NULL, " \n");

		v[i] = arg != NULL ? (uint32_t)strtoul(arg, NULL, 10) : 0;
	}
	x = v[0];
	y = v[1];

	if (word == NULL)
		return true;
	if (strcmp(word, "quit") == 0) {
		return false;
	} else if (strcmp(word, "go") == 0) {
		s.held = false;
		event("sending", "");
	} else if (strcmp(word, "withdraw") == 0 && x > 0 && y < x) {
		table_send(x, y, true);
		s.running = "withdraw";
	} else if (strcmp(word, "announce") == 0 && x > 0 && y < x) {
		table_send(x, y, false);
		s.running = "announce";
	} else if (strcmp(word, "single") == 0 && x > 1 && steady.rate == 0) {
		single(x, y);
		s.running = "single";
	} else if (strcmp(word, "churn") == 0 && x > 0) {
		churn(x, y);
		s.running = "churn";
	} else if (strcmp(word, "pace") == 0 && x > 0 && y > 0 && table.entry_count > PACE_GONE) {
		pace_begin(x, y, v[2] > 0 ? v[2] : 1);
		s.running = "pace";
	} else if (strcmp(word, "rate") == 0 &&
		   (x == 0 || (y > 0 && v[2] < y && y < table.entry_count))) {
		steady_set(x, y, v[2]);
	} else if (strcmp(word, "play") == 0 && play_start(x)) {
		event("playing", "");
	} else {
		event("error", "\"reason\": \"command\"");
	}
	return true;
}

/* ---- connection ---- */

static socklen_t
socket_address(const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	if (inet_pton(AF_INET, text, &v4->sin_addr) != 1)
		die(text, EINVAL);
	return sizeof(*v4);
}

static int
connect_once(void)
{
	struct sockaddr_storage to, from;
	socklen_t len = socket_address(opt.connect, opt.port, &to);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (opt.source != NULL &&
		bind(fd, (struct sockaddr *)&from, socket_address(opt.source, 0, &from)) != 0)
		die("--source", errno);
	if (connect(fd, (struct sockaddr *)&to, len) != 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* The router id comes from the source address, so feeds of a lab differ. */
static uint32_t
identifier(void)
{
	struct sockaddr_storage from;
	uint32_t id = 0x0a000001;

	if (opt.source == NULL)
		return id;
	socket_address(opt.source, 0, &from);
	if (from.ss_family == AF_INET)
		return ntohl(((struct sockaddr_in *)(void *)&from)->sin_addr.s_addr);
	memcpy(&id, ((struct sockaddr_in6 *)(void *)&from)->sin6_addr.s6_addr + 12, sizeof(id));
	return 0x0a000000 | (uint32_t)(hash_mix(id) & 0xffffff) | 1;
}

static void
connect_session(void)
{
	struct bgp_open_options o = {.asn = opt.asn,
		.hold_time_s = HOLD_S,
		.families = (uint8_t)(1u << opt.family),
		.route_refresh = true,
		.four_octet_as = true};

	for (int i = 0; i < CONNECT_ATTEMPTS; i++) {
		s.fd = connect_once();
		if (s.fd >= 0)
			break;
		poll(NULL, 0, 100); /* no event announces a listener */
	}
	if (s.fd < 0)
		die(opt.connect, s.fd);
	o.identifier = identifier();
	s.out_len += bgp_open_encode(&o, out_room(4096), 4096);
	s.heard_ns = now_ns();
	s.keepalive_due_ns = s.heard_ns + (uint64_t)HOLD_S / 3 * 1000000000u;
}

static void
run_session(void)
{
	for (;;) {
		struct pollfd fds[2] = {
			{.fd = s.fd,
				.events =
					(short)(POLLIN |
						(s.out_len > s.out_sent && !s.held ? POLLOUT : 0))},
			{.fd = STDIN_FILENO,
				.events = s.established && (s.running == NULL || s.held) ? POLLIN
											 : 0}};

		if (poll(fds, 2,
			    pace.left > 0 || steady.rate != 0 || play.file != NULL ? 1 : 1000) <
				0 &&
			errno != EINTR)
			die("poll", errno);
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			receive();
		if (fds[1].revents & (POLLIN | POLLHUP) && !commands_read(command))
			quit();
		if (now_ns() >= s.keepalive_due_ns && s.established) {
			s.out_len += bgp_keepalive_encode(out_room(BGP_HEADER_LEN), BGP_HEADER_LEN);
			s.keepalive_due_ns = now_ns() + (uint64_t)HOLD_S / 3 * 1000000000u;
		}
		if (pace.left > 0)
			pace_run();
		steady_run(now_ns());
		play_run(now_ns());
		flush();
	}
}

static void
parse_options(int argc, char **argv)
{
	bool ipv6 = false, vpn = false;
	const struct tool_option options[] = {{"connect", OPTION_TEXT, &opt.connect},
		{"source", OPTION_TEXT, &opt.source}, {"asn", OPTION_U32, &opt.asn},
		{"peer-asn", OPTION_U32, &opt.peer_asn}, {"count", OPTION_U32, &opt.count},
		{"mrt", OPTION_TEXT, &opt.mrt}, {"seed", OPTION_U64, &opt.seed},
		{"list", OPTION_TEXT, &opt.list}, {"port", OPTION_U16, &opt.port},
		{"ipv6", OPTION_FLAG, &ipv6}, {"next-hop", OPTION_TEXT, &opt.next_hop},
		{"per-set", OPTION_U32, &opt.own.per_set}, {"wait", OPTION_FLAG, &opt.wait},
		{"attributes", OPTION_U64, &opt.own.seed},
		{"shuffle", OPTION_FLAG, &opt.own.shuffle}, {"own-as", OPTION_FLAG, &opt.own_as},
		{"hops", OPTION_U32, &opt.own.hops},
		{"communities", OPTION_U32, &opt.own.communities},
		{"mrt-updates", OPTION_TEXT, &opt.mrt_updates}, {"vpn", OPTION_FLAG, &vpn},
		{"rds", OPTION_U32, &opt.rds}};

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (ipv6)
		opt.family = FAMILY_IPV6_UNICAST;
	if (vpn)
		opt.family = ipv6 ? FAMILY_VPNV6_UNICAST : FAMILY_VPNV4_UNICAST;
	if (opt.rds == 0 || opt.rds > 60000 || (opt.rds > 1 && !vpn)) {
		fprintf(stderr, "feed: --rds is 1 to 60000, and needs --vpn\n");
		exit(2);
	}
	if (opt.own_as)
		opt.own.first_asn = opt.asn;
	if (opt.own.hops > TABLE_OWN_MAX || opt.own.communities > TABLE_OWN_MAX) {
		fprintf(stderr, "feed: --hops and --communities are at most %u\n", TABLE_OWN_MAX);
		exit(2);
	}
	if (opt.connect == NULL && opt.list == NULL) {
		fprintf(stderr, "feed: --connect or --list is missing\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct ip_addr next_hop;
	enum afi afi;
	int err;

	parse_options(argc, argv);
	afi = family_afi(opt.family);
	err = opt.mrt != NULL ? table_read_mrt(&table, afi, opt.mrt, 0)
			      : table_generate(&table, afi, opt.count, opt.seed);
	if (err != 0)
		die(opt.mrt != NULL ? opt.mrt : "table", err);
	if (opt.own.per_set > 0 && (err = table_own(&table, &opt.own)) != 0)
		die("attributes", err);
	withdrawn = calloc(routes_count() + 1u, sizeof(*withdrawn));
	if (withdrawn == NULL)
		die("table", ENOMEM);
	if (opt.list != NULL && (err = table_list(&table, opt.list)) != 0)
		die(opt.list, err);
	if (opt.connect == NULL)
		return 0;
	if (opt.next_hop == NULL)
		opt.next_hop = opt.source != NULL ? opt.source
			       : afi == AFI_IPV6  ? "::1"
						  : "127.0.0.1";
	if (addr_parse(opt.next_hop, &next_hop) != 0)
		die(opt.next_hop, EINVAL);
	for (uint32_t i = 0; i < table.set_count; i++) {
		table.sets[i]->next_hop = next_hop;
		if (opt.asn ==
			opt.peer_asn) { /* internal session: LOCAL_PREF is well-known (RFC 4271 5.1.5) */
			table.sets[i]->has |= ATTR_HAS_LOCAL_PREF;
			table.sets[i]->local_pref = 100;
		}
	}
	connect_session();
	run_session();
}
