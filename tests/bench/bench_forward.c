/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one worker forwards: net_pcap with infinite_rx (its own cost: a buffer and a copy a packet) to net_null. First one route and a few
 * flows, then a full table and destinations drawn from all of it.
 *
 * bench_forward [SECONDS [PREFIXES]]
 */
#include "tests/dataplane/lab.h"
#include "tests/dataplane/pcap.h"
#include "tests/lpm/lpm_test.h"

#define PACKETS 16384

static char directory[] = "/tmp/keel-bench-forward-XXXXXX";
static const uint8_t far[6] = {0x02, 0, 0, 0, 0, 0xbb};

static uint64_t
counter(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* Frames of 64 bytes. */
static void
write_packets(const char *path, const struct v4_route *routes, size_t count)
{
	FILE *f = pcap_create(path);
	uint64_t seed = 42;

	if (f == NULL)
		exit(1);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct v4_route r = {IP(10, 0, 0, 0), 24};
		struct lab_frame frame;

		if (count > 0)
			r = routes[lab_below(&seed, (uint32_t)count)];
		lab_udp(&frame, (const uint8_t *)"\x02pcap",
			IP(198, 51, 100, 1) + lab_below(&seed, 256),
			r.addr | (uint32_t)(lab_random(&seed) &
					    (r.len == 0 ? UINT32_MAX : ~v4_mask(r.len))),
			64, 0, 18, &seed);
		pcap_put(f, frame.b, frame.len);
	}
	fclose(f);
}

static void
add_routes(struct lab_fib *l, const struct v4_route *routes, size_t count)
{
	struct next_hop_id hop[4];

	for (unsigned i = 0; i < 4; i++)
		hop[i] = lab_next_hop(l, IP(192, 0, 2, i + 1), 0, far, 1500);
	if (count == 0)
		lab_route(l, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, hop, 1);
	for (size_t i = 0; i < count; i++)
		lab_route(l, routes[i].addr, routes[i].len, PATH_LIST_FORWARD, PORT_NONE,
			&hop[i & 3], 1);
	lab_commit(l);
}

static void
measure(const char *name, struct lab_fib *l, unsigned seconds)
{
	const struct worker_stats *s;
	struct hist_summary gap;
	uint64_t forwarded, cycles, packets, start;
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
	clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_sec = seconds}, NULL);
	elapsed = (double)(lab_now_ns() - start) / 1e9;
	forwarded = counter(&s->forwarded) - forwarded;
	cycles = counter(&s->busy_cycles) - cycles;
	packets = counter(&s->busy_packets) - packets;
	stats_loop_gap(0, &gap);
	printf("%s: %.2f Mpps, %.1f cycles a packet, loop gap us p50 %.1f p999 %.1f max %.1f, not "
	       "forwarded %lu\n",
		name, (double)forwarded / elapsed / 1e6,
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
	struct v4_route *routes = NULL;
	struct lab_fib lab;
	char path[64], device[128], name[64] = "one route";

	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/in.pcap", directory);
	if (count > 0) {
		routes = v4_table(count, &count);
		snprintf(name, sizeof(name), "%zu routes", count);
	}
	write_packets(path, routes, count);
	lab_eal_up(directory, 1024);
	lab_port("out", "net_null0,no-rx=1");
	snprintf(device, sizeof(device), "net_pcap0,rx_pcap=%s,infinite_rx=1", path);
	lab_port("in", device);
	lab_fib_up(&lab);
	add_routes(&lab, routes, count);
	measure(name, &lab, seconds);
	dataplane_fini();
	lab_fib_down(&lab);
	free(routes);
	unlink(path);
	rmdir(directory);
	return 0;
}
