/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the real worker between two pcap files with a seeded mix of valid and invalid packets.
 * Output is compared byte for byte with a slow model, drops by reason.
 */
#include "dataplane/forward/burst.h"
#include "dataplane/forward/worker_struct.h"
#include "lab.h"
#include "pcap.h"

#include <sys/stat.h>

#define PACKETS (80 * BURST_MAX) /* the last burst is full and thus held, with no burst after */
#define SEED 20261120

static const uint8_t mac_a[6] = {0x02, 0, 0, 0, 0, 0x0a};
static const uint8_t mac_b[6] = {0x02, 0, 0, 0, 0, 0x0b};
static const uint8_t mac_c[6] = {0x02, 0, 0, 0, 0, 0x0c};

static char directory[] = "/tmp/keel-test-worker-XXXXXX";
static struct lab_fib lab;
static uint8_t port_in_mac[6];

/* Results of the model. */
static struct lab_frame expected[PACKETS];
static unsigned expected_count;
static uint64_t expected_drops[DROP_COUNT];
static unsigned expected_ecmp[PACKETS]; /* 1: through B or C */

static void
expect_forward(const struct lab_frame *in, bool ecmp)
{
	struct lab_frame *out = &expected[expected_count];
	unsigned total = (unsigned)(in->b[16] << 8 | in->b[17]);

	*out = *in;
	out->len = 14 + total; /* padding is removed */
	memcpy(out->b, mac_a, 6);
	port_mac(1, out->b + 6);
	out->b[22]--;
	lab_fix_checksum(out);
	expected_ecmp[expected_count++] = ecmp;
}

static uint32_t
any_source(uint64_t *seed)
{
	return IP(11 + lab_below(seed, 100), lab_below(seed, 256), lab_below(seed, 256),
		lab_below(seed, 256));
}

static void
good(struct lab_frame *f, uint64_t *seed, uint8_t second)
{
	lab_udp(f, port_in_mac, any_source(seed),
		IP(10, second, lab_below(seed, 256), lab_below(seed, 256)),
		(uint8_t)(2 + lab_below(seed, 254)),
		lab_below(seed, 4) == 0 ? lab_below(seed, 11) : 0, lab_below(seed, 1400), seed);
}

/* Writes one packet of the mix and adds its outcome to the model. */
static void
make_packet(struct lab_frame *f, uint64_t *seed)
{
	static const uint32_t bad_sources[] = {IP(127, 0, 0, 1), IP(0, 1, 2, 3), IP(224, 0, 0, 5),
		IP(240, 0, 0, 1), IP(255, 255, 255, 255), IP(169, 254, 1, 1)};
	static const uint32_t bad_destinations[] = {IP(127, 0, 0, 1), IP(0, 0, 0, 0),
		IP(224, 0, 0, 5), IP(250, 0, 0, 1), IP(255, 255, 255, 255), IP(169, 254, 9, 9)};
	unsigned kind = lab_below(seed, 40), i;
	enum drop_reason reason = DROP_COUNT;

	good(f, seed, 1);
	switch (kind) {
	case 0:
		f->len = lab_below(seed, 14) + 1; /* incomplete Ethernet header */
		reason = DROP_too_short;
		break;
	case 1:
		f->len = 14 + lab_below(seed, 20); /* incomplete IPv4 header */
		reason = DROP_too_short;
		break;
	case 2:
		f->len -= 1; /* the last byte of the packet is missing */
		reason = DROP_too_short;
		break;
	case 3:
		f->b[16] = 0; /* total length below the header length */
		f->b[17] = (uint8_t)lab_below(seed, 20);
		lab_fix_checksum(f);
		reason = DROP_too_short;
		break;
	case 4:
		f->b[5] ^= 0x10;
		reason = DROP_other_host;
		break;
	case 5:
		f->b[12] = 0x86; /* EtherType IPv6 with other content */
		f->b[13] = 0xdd;
		reason = f->len < 54 ? DROP_too_short : DROP_bad_version;
		if (lab_below(seed, 2)) {
			f->b[12] = 0x88; /* MPLS */
			f->b[13] = 0x47;
			reason = DROP_mpls_port;
		}
		break;
	case 6:
		f->b[14] = (uint8_t)(0x50 | (f->b[14] & 15));
		lab_fix_checksum(f);
		reason = DROP_bad_version;
		break;
	case 7:
		f->b[14] = (uint8_t)(0x40 | lab_below(seed, 5));
		lab_fix_checksum(f);
		reason = DROP_bad_header_length;
		break;
	case 8:
		lab_udp(f, port_in_mac, any_source(seed), IP(10, 1, 2, 3), 9, 0, 4, seed);
		f->b[14] = 0x4f; /* beyond the packet */
		reason = DROP_bad_header_length;
		break;
	case 9:
		f->b[14 + lab_below(seed, 20)] ^=
			(uint8_t)(1u << lab_below(seed, 8)); /* any bit of the header */
		if ((f->b[14] >> 4) != 4)
			reason = DROP_bad_version;
		else if ((f->b[14] & 15) < 5 || 14 + (f->b[14] & 15u) * 4 > f->len)
			reason = DROP_bad_header_length;
		else
			reason = DROP_bad_checksum;
		break;
	case 10:
		lab_set32(f->b + 26, bad_sources[lab_below(seed, 6)]);
		lab_fix_checksum(f);
		reason = DROP_bad_source;
		break;
	case 11:
		lab_set32(f->b + 30, bad_destinations[lab_below(seed, 6)]);
		lab_fix_checksum(f);
		reason = DROP_bad_destination;
		break;
	case 12:
		memset(f->b, lab_below(seed, 2) ? 0xff : 0x01, 6);
		reason = DROP_link_broadcast;
		break;
	case 13:
		lab_set32(f->b + 30, IP(203, 0, 113, 1));
		lab_fix_checksum(f);
		reason = DROP_no_route;
		break;
	case 14:
		good(f, seed, 4);
		reason = DROP_blackhole;
		break;
	case 15:
		good(f, seed,
			lab_below(seed, 2) ? 3 : 5); /* a next hop, or a neighbour on the subnet */
		reason = DROP_unresolved;
		break;
	case 16:
		f->b[22] = (uint8_t)lab_below(seed, 2);
		lab_fix_checksum(f);
		reason = DROP_ttl_expired;
		break;
	case 17:
		lab_udp(f, port_in_mac, any_source(seed), IP(10, 7, 1, 1), 64, 0,
			577 - 28 + lab_below(seed, 200), seed);
		f->b[20] = 0x40; /* test_mixed.c checks fragments */
		lab_fix_checksum(f);
		reason = DROP_too_big;
		break;
	case 18:
		lab_udp(f, port_in_mac, any_source(seed), IP(10, 6, 0, 1), 64, 0, 10, seed);
		reason = DROP_local_loop;
		break;
	case 19: /* exactly the MTU */
		lab_udp(f, port_in_mac, any_source(seed), IP(10, 7, 1, 1), 64, 0, 576 - 28, seed);
		break;
	case 20: /* padding after the IP packet */
		lab_udp(f, port_in_mac, any_source(seed), IP(10, 1, 1, 1), 64, 0,
			lab_below(seed, 18), seed);
		for (i = f->len; i < 60; i++)
			f->b[i] = 0xee;
		f->len = 60;
		break;
	case 21: /* TTL 2 is the lowest that is forwarded */
		f->b[22] = 2;
		lab_fix_checksum(f);
		break;
	case 22:
	case 23:
	case 24:
	case 25:
		good(f, seed, 2);
		expect_forward(f, true);
		return;
	default:
		break;
	}
	if (reason == DROP_COUNT)
		expect_forward(f, false);
	else
		expected_drops[reason]++;
}

static bool
all_seen(void *ctx)
{
	(void)ctx;
	return lab_seen() == PACKETS;
}

static void
write_input(const char *path)
{
	FILE *f = pcap_create(path);
	uint64_t seed = SEED;

	assert_non_null(f);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct lab_frame frame;

		make_packet(&frame, &seed);
		pcap_put(f, frame.b, frame.len);
	}
	assert_int_equal(fclose(f), 0);
}

static void
set_routes(void)
{
	struct next_hop_id a = lab_next_hop(&lab, IP(192, 0, 2, 1), 1, mac_a, 1500);
	struct next_hop_id ecmp[2] = {lab_next_hop(&lab, IP(192, 0, 2, 2), 1, mac_b, 1500),
		lab_next_hop(&lab, IP(192, 0, 2, 3), 1, mac_c, 1500)};
	struct next_hop_id lost = lab_next_hop(&lab, IP(192, 0, 2, 4), 1, NULL, 0);
	struct next_hop_id back = lab_next_hop(&lab, IP(192, 0, 3, 1), 0, mac_a, 1500);
	struct next_hop_id small = lab_next_hop(&lab, IP(192, 0, 2, 5), 1, mac_a, 576);

	lab_route(&lab, IP(10, 1, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &a, 1);
	lab_route(&lab, IP(10, 2, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, ecmp, 2);
	lab_route(&lab, IP(10, 3, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &lost, 1);
	lab_route(&lab, IP(10, 4, 0, 0), 16, PATH_LIST_BLACKHOLE, PORT_NONE, NULL, 0);
	lab_route(&lab, IP(10, 5, 0, 0), 16, PATH_LIST_GLEAN, 1, NULL, 0);
	lab_route(&lab, IP(10, 6, 0, 1), 32, PATH_LIST_PUNT, PORT_NONE, NULL, 0);
	lab_route(&lab, IP(10, 7, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &small, 1);
	/* ICMP errors leave by a port whose output is not read; test_mixed.c checks errors. */
	lab_route_text(&lab, "8.0.0.0/5", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "16.0.0.0/4", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "32.0.0.0/3", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "64.0.0.0/2", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_commit(&lab);
}

static void
compare_output(const char *path)
{
	FILE *f = pcap_open(path);
	unsigned by_b = 0, by_c = 0;
	uint8_t got[2048];
	int len;

	assert_non_null(f);
	for (unsigned i = 0; i < expected_count; i++) {
		struct lab_frame *want = &expected[i];

		len = pcap_next(f, got, sizeof(got));
		if (len != (int)want->len)
			fail_msg("seed %u packet %u: %d bytes, expected %u", SEED, i, len,
				want->len);
		if (expected_ecmp[i]) {
			by_b += memcmp(got, mac_b, 6) == 0;
			by_c += memcmp(got, mac_c, 6) == 0;
			assert_true(memcmp(got, mac_b, 6) == 0 || memcmp(got, mac_c, 6) == 0);
			memcpy(got, mac_a, 6);
		}
		if (memcmp(got, want->b, want->len) != 0)
			fail_msg("seed %u packet %u differs", SEED, i);
	}
	assert_int_equal(pcap_next(f, got, sizeof(got)), -1);
	fclose(f);
	/* Two equal-cost paths: each gets at least a third. */
	assert_true(by_b > (by_b + by_c) / 3 && by_c > (by_b + by_c) / 3);
}

static void
check_drops(void)
{
	for (unsigned i = 0; i < DROP_COUNT; i++)
		if (i != DROP_icmp_limited && lab_lost((enum drop_reason)i) != expected_drops[i])
			fail_msg("seed %u: dropped for %s: %lu, expected %lu", SEED,
				drop_reason_text((enum drop_reason)i),
				(unsigned long)lab_lost((enum drop_reason)i),
				(unsigned long)expected_drops[i]);
}

/*
 * One request per neighbour, for any number of waiting packets; for a next hop, with its own
 * address.
 */
static void
check_gleans(unsigned elapsed_ms)
{
	struct glean g[1024];
	unsigned n, next_hops = 0;

	role_enter_host();
	n = worker_gleans(g, 1024);
	assert_true(n >= 2);
	for (unsigned i = 0; i < n; i++) {
		uint32_t a = addr_v4(&g[i].addr);

		assert_int_equal(g[i].port, 1);
		if (a == IP(192, 0, 2, 4))
			next_hops++;
		else
			assert_int_equal(a >> 16, IP(10, 5, 0, 0) >> 16);
	}
	/*
	 * About 70 packets waited for the neighbour. Repeated after 100 ms, or if another
	 * neighbour took its slot.
	 */
	assert_true(next_hops >= 1 && next_hops <= 10 + elapsed_ms / 100);
	assert_int_equal(worker_gleans(g, 1024), 0);
}

static void
check_histogram(void)
{
	uint64_t deadline = tick_deadline(300);
	struct hist_summary before, after;

	/*
	 * The worker keeps running: if mark and reading were too far apart, repeat with a longer
	 * interval.
	 */
	do {
		stats_loop_gap(0, &before);
		assert_true(before.count > 0 && before.max >= before.p50);
		stats_reset_mark();
		stats_loop_gap(0, &after);
	} while (after.count >= before.count && tick(deadline));
	assert_true(after.count < before.count);
}

static void
test_mix(void **state)
{
	char in[64], out[64], device[200];
	struct port_counters c;
	uint64_t started;

	(void)state;
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	snprintf(out, sizeof(out), "%s/out.pcap", directory);
	/*
	 * The port's MAC address is known after port_add(), when net_pcap has opened the file: a
	 * first, empty file is enough to learn it.
	 */
	fclose(pcap_create(in));
	snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", out);
	lab_eal_up(directory, 64);
	lab_port("null", "net_null0,no-rx=1");
	lab_port("out", device);
	/* net_pcap numbers the addresses of its devices: each ends in the next number. */
	snprintf(device, sizeof(device), "net_pcap1,rx_pcap=%s", in);
	memcpy(port_in_mac, "\x02pcap\x01", 6);
	write_input(in);
	lab_port("in", device);
	uint8_t mac[6];
	port_mac(2, mac);
	assert_memory_equal(mac, port_in_mac, 6);
	lab_fib_up(&lab);
	set_routes();
	started = lab_now_ns();
	lab_workers_up(&lab);
	if (!lab_wait(all_seen, NULL, 300)) {
		assert_int_equal(port_counters_get(2, &c), 0);
		print_message("seen %lu of %u, received %lu\n", (unsigned long)lab_seen(), PACKETS,
			(unsigned long)c.rx_packets);
		check_drops();
		fail();
	}
	check_drops();
	check_gleans((unsigned)((lab_now_ns() - started) / 1000000));
	check_histogram();
	assert_int_equal(port_counters_get(1, &c), 0);
	assert_int_equal(c.tx_packets, expected_count);
	assert_int_equal(c.tx_dropped, 0);
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	compare_output(out);
	unlink(in);
	unlink(out);
}

static void
test_reasons(void **state)
{
	(void)state;
	assert_string_equal(drop_reason_text(DROP_bad_header_length), "bad-header-length");
	assert_string_equal(drop_reason_rfc(DROP_link_broadcast), "RFC 1812 5.3.4");
	for (unsigned i = 0; i < DROP_COUNT; i++)
		assert_true(strlen(drop_reason_text((enum drop_reason)i)) > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mix), cmocka_unit_test(test_reasons)};
	int failed;

	if (!cpu_has_level())
		return 77;
	role_enter_main();
	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
