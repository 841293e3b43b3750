/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one worker forwards: net_pcap with infinite_rx (its own cost: a buffer and a copy a packet) to net_null. First one route and a few
 * flows; with PREFIXES, that many of a full table and destinations drawn from all of it. FAMILIES: 4, 6, or 46 (packets by turns).
 *
 * bench_forward [SECONDS [PREFIXES [FAMILIES]]]
 */
#define LAB_GROUPS_V6 131072
#include "tests/dataplane/lab.h"
#include "tests/dataplane/pcap.h"
#include "tests/lpm/lpm6_test.h"

#include <dirent.h>
#include <inttypes.h>

#define PACKETS 16384

static char directory[] = "/tmp/keel-bench-forward-XXXXXX";
static const uint8_t far[6] = {0x02, 0, 0, 0, 0, 0xbb};

static uint64_t
counter(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

struct tables {
	bool v4, v6;
	struct v4_route *route4;
	struct prefix *route6;
	size_t count4, count6;
};

/* Frames of 64 bytes. */
static void
make_v4(struct lab_frame *frame, const struct tables *t, uint64_t *seed)
{
	struct v4_route r = {IP(10, 0, 0, 0), 24};

	if (t->count4 > 0)
		r = t->route4[lab_below(seed, (uint32_t)t->count4)];
	lab_udp(frame, (const uint8_t *)"\x02pcap", IP(198, 51, 100, 1) + lab_below(seed, 256),
		r.addr | (uint32_t)(lab_random(seed) & (r.len == 0 ? UINT32_MAX : ~v4_mask(r.len))),
		64, 0, 18, seed);
}

/* The shortest with UDP: 66 bytes. */
static void
make_v6(struct lab_frame *frame, const struct tables *t, uint64_t *seed)
{
	struct ip_addr src = lab_addr("2001:db8:9::1"), dst;
	struct prefix p = {.b = {0x20, 0x01}, .afi = AFI_IPV6, .len = 120};

	if (t->count6 > 0)
		p = t->route6[lab_below(seed, (uint32_t)t->count6)];
	dst = v6_within(&p, seed);
	src.b[15] = (uint8_t)lab_random(seed);
	lab_udp6(frame, (const uint8_t *)"\x02pcap", src.b, dst.b, 64, 0, seed);
}

static void
write_packets(const char *path, const struct tables *t)
{
	FILE *f = pcap_create(path);
	uint64_t seed = 42;

	if (f == NULL)
		exit(1);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct lab_frame frame;

		if (t->v6 && (!t->v4 || (i & 1)))
			make_v6(&frame, t, &seed);
		else
			make_v4(&frame, t, &seed);
		pcap_put(f, frame.b, frame.len);
	}
	fclose(f);
}

static void
add_routes(struct lab_fib *l, const struct tables *t)
{
	struct next_hop_id hop[4];

	for (unsigned i = 0; i < 4; i++)
		hop[i] = lab_next_hop(l, IP(192, 0, 2, i + 1), 0, far, 1500);
	if (t->count4 == 0)
		lab_route(l, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, hop, 1);
	if (t->count6 == 0)
		lab_route_text(l, "2000::/3", PATH_LIST_FORWARD, PORT_NONE, hop, 1);
	for (size_t i = 0; i < t->count4; i++)
		lab_route(l, t->route4[i].addr, t->route4[i].len, PATH_LIST_FORWARD, PORT_NONE,
			&hop[i & 3], 1);
	for (size_t i = 0; i < t->count6; i++)
		lab_route_to(l, &t->route6[i], PATH_LIST_FORWARD, PORT_NONE, &hop[i & 3], 1);
	lab_commit(l);
}

/* What the worker has run, which a busy machine does not change as it does the time. */
static uint64_t
worker_cpu_ns(void)
{
	struct dirent *e;
	uint64_t ns = 0;
	DIR *d = opendir("/proc/self/task");

	while (d != NULL && (e = readdir(d)) != NULL) {
		char path[320], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		if (fscanf(f, "%31s", name) != 1)
			name[0] = '\0';
		fclose(f);
		snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", e->d_name);
		f = strncmp(name, "keel-worker", 11) == 0 ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		if (fscanf(f, "%" SCNu64, &ns) != 1)
			ns = 0;
		fclose(f);
	}
	if (d != NULL)
		closedir(d);
	return ns;
}

static void
measure(const char *name, struct lab_fib *l, unsigned seconds)
{
	const struct worker_stats *s;
	struct hist_summary gap;
	uint64_t forwarded, cycles, packets, start, cpu;
	double elapsed;

	lab_workers_up(l);
	s = worker_stats(0);
	while (counter(&s->forwarded) == 0)
		sched_yield();
	stats_reset_mark();
	forwarded = counter(&s->forwarded);
	cycles = counter(&s->busy_cycles);
	packets = counter(&s->busy_packets);
	start = lab_now_ns();
	cpu = worker_cpu_ns();
	tick_until(start + seconds * UINT64_C(1000000000)); /* what is measured takes so long */
	elapsed = (double)(lab_now_ns() - start) / 1e9;
	cpu = worker_cpu_ns() - cpu;
	forwarded = counter(&s->forwarded) - forwarded;
	cycles = counter(&s->busy_cycles) - cycles;
	packets = counter(&s->busy_packets) - packets;
	stats_loop_gap(0, &gap);
	printf("%s: %.2f Mpps, %.2f by the worker's CPU time, %.1f cycles a packet, loop gap us "
	       "p50 %.1f p999 %.1f max %.1f, not "
	       "forwarded %lu\n",
		name, (double)forwarded / elapsed / 1e6,
		cpu > 0 ? (double)forwarded * 1e3 / (double)cpu : 0,
		packets > 0 ? (double)cycles / (double)packets : 0, (double)gap.p50 / 1e3,
		(double)gap.p999 / 1e3, (double)gap.max / 1e3,
		(unsigned long)(lab_seen() - counter(&s->forwarded)));
	fflush(stdout);
	workers_stop();
}

int
main(int argc, char **argv)
{
	unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5;
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	const char *families = argc > 3 ? argv[3] : "4";
	struct tables t = {
		.v4 = strchr(families, '4') != NULL, .v6 = strchr(families, '6') != NULL};
	struct lab_fib lab;
	char path[64], device[128], name[64];

	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/in.pcap", directory);
	if (count > 0) {
		if (t.v4)
			t.route4 = v4_table(count, &t.count4);
		if (t.v6)
			t.route6 = v6_table(count, &t.count6);
	}
	snprintf(name, sizeof(name), "families %s, %zu + %zu routes", families, t.count4, t.count6);
	write_packets(path, &t);
	lab_eal_up(directory, 1024);
	lab_port("out", "net_null0,no-rx=1");
	snprintf(device, sizeof(device), "net_pcap0,rx_pcap=%s,infinite_rx=1", path);
	lab_port("in", device);
	lab_fib_up(&lab);
	add_routes(&lab, &t);
	measure(name, &lab, seconds);
	dataplane_fini();
	lab_fib_down(&lab);
	free(t.route4);
	free(t.route6);
	unlink(path);
	rmdir(directory);
	return 0;
}
