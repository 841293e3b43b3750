/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controls the lab ports of a second process (tests/dataplane/lab_port.h explains the start).
 *
 * lab_ports --create FILE --routes ROUTES [--v4 N] [--v6 N] [--seed N]
 *     makes FILE and draws N destinations a family within the routes of the text file ROUTES, lines "PREFIX CLASS".
 * lab_ports --control FILE
 *     commands on standard input, a line each; each is answered by one line of JSON:
 *     mac PORT IFACE|ADDRESS    destination of the frames: set before the first frame if the port has the address of a kernel interface
 *     allow CLASS|all MASK      the valid exit ports (bits) of the class; during a change of routes the ports of both generations
 *     limit PORT N              bound for all frames of the source of the port; 0: the port is only a sink
 *     pattern HEX               bit n: each 64th frame from the n-th on is IPv6 (0: none, ffffffffffffffff: all)
 *     flood HEX FRAME           bit n: each 64th frame from the n-th on is FRAME (hexadecimal, 64 octets), and the others are IPv4; sources rest meanwhile
 *     run 0|1                   sources rest, or send at full speed
 *     stats                     counters since the start, "ns" (CLOCK_MONOTONIC)
 *     quit
 */
#include "lpm/base/arena.h"
#include "tests/bench/tool.h"
#include "tests/dataplane/lab_flows.h"

#include <inttypes.h>
#include <time.h>

static struct lab_shared *lab;

/* ---- create ---- */

struct routes {
	struct shadow *shadow[2];
	struct prefix *prefix[2];
	size_t count[2], room[2];
};

static void
take(struct routes *r, const char *line)
{
	char text[PREFIX_TEXT_MAX];
	unsigned class;
	struct prefix p;
	unsigned f;

	if (sscanf(line, "%49s %u", text, &class) != 2 || class >= LAB_CLASSES ||
		prefix_parse(text, &p) != 0)
		die(line, EINVAL);
	f = p.afi == AFI_IPV6;
	if (r->count[f] == r->room[f]) {
		r->room[f] = r->room[f] > 0 ? 2 * r->room[f] : 65536;
		r->prefix[f] = realloc(r->prefix[f], r->room[f] * sizeof(struct prefix));
		if (r->prefix[f] == NULL)
			die(text, ENOMEM);
	}
	r->prefix[f][r->count[f]++] = p;
	if (shadow_set(r->shadow[f], &p, LAB_LIST(class), false) != 0)
		die(text, ENOMEM);
}

static void
read_routes(struct routes *r, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[128];

	if (f == NULL)
		die(path, errno);
	while (fgets(line, sizeof(line), f) != NULL)
		take(r, line);
	fclose(f);
}

static int
create(const char *file, const char *path, uint64_t v4, uint64_t v6, uint64_t seed)
{
	struct routes r = {.count = {0}};
	struct arena *a;

	if (arena_create("lab", &a) != 0 || shadow_create(a, AFI_IPV4, &r.shadow[0]) != 0 ||
		shadow_create(a, AFI_IPV6, &r.shadow[1]) != 0)
		die("tables", ENOMEM);
	read_routes(&r, path);
	lab = lab_shared_create(file, r.count[0] > 0 ? v4 : 0, r.count[1] > 0 ? v6 : 0);
	if (lab == NULL)
		die(file, errno);
	lab_flows_draw(lab, AFI_IPV4, r.shadow[0], r.prefix[0], r.count[0], seed);
	lab_flows_draw(lab, AFI_IPV6, r.shadow[1], r.prefix[1], r.count[1], seed);
	printf("{\"routes\": %zu, \"v4\": %" PRIu64 ", \"v6\": %" PRIu64 "}\n",
		r.count[0] + r.count[1], lab->v4_count, lab->v6_count);
	return 0;
}

/* ---- control ---- */

static uint64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* {"sent": ..., of `side[from..to)` summed */
static void
put_sums(unsigned from, unsigned to)
{
	static const struct {
		const char *name;
		size_t at;
	} counter[] = {
		{"sent", offsetof(struct lab_side, sent)},
		{"starved", offsetof(struct lab_side, starved)},
		{"seen", offsetof(struct lab_side, seen)},
		{"misdirected", offsetof(struct lab_side, misdirected)},
		{"reordered", offsetof(struct lab_side, reordered)},
		{"damaged", offsetof(struct lab_side, damaged)},
		{"checked", offsetof(struct lab_side, checked)},
		{"foreign", offsetof(struct lab_side, foreign)},
	};

	for (unsigned c = 0; c < sizeof(counter) / sizeof(counter[0]); c++) {
		uint64_t sum = 0;

		for (unsigned i = from; i < to; i++)
			sum += lab_count((const _Atomic uint64_t *)((const char *)&lab->side[i] +
								    counter[c].at));
		printf("%s\"%s\": %" PRIu64, c == 0 ? "{" : ", ", counter[c].name, sum);
	}
}

static void
put_stats(void)
{
	unsigned ports = atomic_load_explicit(&lab->taken, memory_order_relaxed);

	put_sums(0, ports);
	printf(", \"ns\": %" PRIu64 ", \"ports\": [", now_ns());
	for (unsigned i = 0; i < ports; i++) {
		printf("%s", i == 0 ? "" : ", ");
		put_sums(i, i + 1);
		printf(", \"bad_number\": %" PRIu64 ", \"bad_class\": %" PRIu64 "}",
			lab_count(&lab->side[i].bad_number), lab_count(&lab->side[i].bad_class));
	}
	printf("]}\n");
}

static bool
set_mac(const char *port, const char *text)
{
	unsigned index = (unsigned)strtoul(port, NULL, 10), b[6];
	char path[96], line[32] = "";
	uint8_t mac[8] = {0};
	uint64_t word;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/address", text);
	f = strchr(text, ':') == NULL && strchr(text, '/') == NULL ? fopen(path, "re") : NULL;
	if (f != NULL) {
		text = fgets(line, sizeof(line), f) != NULL ? line : "";
		fclose(f);
	}
	if (index >= LAB_PORTS ||
		sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	memcpy(&word, mac, sizeof(word));
	atomic_store_explicit(&lab->side[index].mac, word, memory_order_relaxed);
	return true;
}

static bool
allow(const char *class, const char *mask)
{
	bool all = strcmp(class, "all") == 0;
	unsigned first = all ? 0 : (unsigned)strtoul(class, NULL, 10);
	unsigned end = all ? LAB_CLASSES : first + 1;
	uint32_t ports = (uint32_t)strtoul(mask, NULL, 0);

	if (end > LAB_CLASSES)
		return false;
	for (unsigned i = first; i < end; i++)
		atomic_store_explicit(&lab->allowed[i], ports, memory_order_relaxed);
	return true;
}

static bool
limit(const char *port, const char *frames)
{
	unsigned index = (unsigned)strtoul(port, NULL, 10);

	if (index >= LAB_PORTS)
		return false;
	atomic_store_explicit(
		&lab->side[index].limit, strtoull(frames, NULL, 10), memory_order_relaxed);
	return true;
}

static bool
flood(const char *pattern, const char *frame)
{
	unsigned octet;

	if (strlen(frame) != 2 * LAB_FRAME)
		return false;
	for (unsigned i = 0; i < LAB_FRAME; i++) {
		if (sscanf(frame + 2 * (size_t)i, "%2x", &octet) != 1)
			return false;
		lab->flood[i] = (uint8_t)octet;
	}
	lab->flood_pattern = strtoull(pattern, NULL, 16);
	return true;
}

static bool
obey(const char *verb, const char *a, const char *b)
{
	if (strcmp(verb, "mac") == 0)
		return set_mac(a, b);
	if (strcmp(verb, "allow") == 0)
		return allow(a, b);
	if (strcmp(verb, "limit") == 0)
		return limit(a, b);
	if (strcmp(verb, "flood") == 0)
		return flood(a, b);
	if (strcmp(verb, "pattern") == 0)
		lab->v6_pattern = strtoull(a, NULL, 16);
	else if (strcmp(verb, "run") == 0)
		/* release: pairs with the load in the source's receive, after all earlier settings */
		atomic_store_explicit(
			&lab->run, (uint32_t)strtoul(a, NULL, 10), memory_order_release);
	else
		return false;
	return true;
}

static bool
command(char *line)
{
	char verb[16] = "", a[64] = "", b[2 * LAB_FRAME + 1] = "";

	static_assert(LAB_FRAME == 64, "128 characters");
	if (sscanf(line, "%15s %63s %128s", verb, a, b) < 1)
		return true;
	if (strcmp(verb, "quit") == 0)
		return false;
	if (strcmp(verb, "stats") == 0)
		put_stats();
	else
		printf("{\"ok\": %s}\n", obey(verb, a, b) ? "true" : "false");
	fflush(stdout);
	return true;
}

int
main(int argc, char **argv)
{
	const char *file = NULL, *control = NULL, *routes = NULL;
	uint64_t v4 = 1u << 20, v6 = 1u << 20, seed = 42;
	const struct tool_option options[] = {
		{"create", OPTION_TEXT, &file},
		{"routes", OPTION_TEXT, &routes},
		{"control", OPTION_TEXT, &control},
		{"v4", OPTION_U64, &v4},
		{"v6", OPTION_U64, &v6},
		{"seed", OPTION_U64, &seed},
	};

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (file != NULL && routes != NULL)
		return create(file, routes, v4, v6, seed);
	if (control == NULL)
		die("--create FILE --routes ROUTES, or --control FILE", EINVAL);
	lab = lab_shared_open(control);
	if (lab == NULL)
		die(control, errno);
	while (commands_read(command))
		;
	return 0;
}
