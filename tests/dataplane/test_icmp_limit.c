/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors while a scanner runs (RFC 1812 4.3.2.8, RFC 4443 2.4). The scanner sends packets with an expired TTL from a single source, then
 * from forged sources. Meanwhile hosts send packets with an expired TTL and packets that are too big, and need the errors about them. Once with
 * a real worker between two pcap files, once with the limit alone and a clock of the test.
 */
#include "dataplane/forward/burst.h"
#include "dataplane/forward/icmp_limit.h"
#include "lab.h"
#include "pcap.h"

#include <sys/stat.h>

#define HOSTS 20
#define FLOOD 40000
#define EVERY (FLOOD / HOSTS)
#define SMALL_MTU 576

static char directory[] = "/tmp/keel-test-icmp-limit-XXXXXX";
static const uint8_t mac_a[6] = {0x02, 0, 0, 0, 0, 0x0a};
static const uint8_t port_in_mac[6] = "\x02pcap\x01";
static unsigned written;

/* ---- the worker ---- */

static void
put(FILE *f, uint32_t source, uint32_t destination, uint8_t ttl, unsigned payload)
{
	struct lab_frame frame;
	uint64_t seed = written++;

	lab_udp(&frame, port_in_mac, source, destination, ttl, 0, payload, &seed);
	frame.b[20] = 0x40; /* DF */
	lab_fix_checksum(&frame);
	pcap_put(f, frame.b, frame.len);
}

/* Each host has its own /24. */
static uint32_t
host(unsigned class, unsigned i)
{
	return IP(20, class, i, 1);
}

static void
write_flood(const char *path)
{
	FILE *f = pcap_create(path);
	uint64_t seed = 1;

	assert_non_null(f);
	/* a single scanner; the hosts need errors of both classes */
	for (unsigned i = 0; i < FLOOD; i++) {
		put(f, IP(20, 9, 9, 9), IP(10, 1, i >> 8 & 0xff, i & 0xff), 1, 0);
		if (i % EVERY == EVERY - 1) {
			put(f, host(1, i / EVERY), IP(10, 1, 1, 1), 1, 0);
			put(f, host(2, i / EVERY), IP(10, 2, 1, 1), 64, SMALL_MTU);
		}
	}
	/* forged sources; the hosts need path MTU discovery */
	for (unsigned i = 0; i < FLOOD; i++) {
		put(f, IP(30, lab_below(&seed, 256), lab_below(&seed, 256), 9), IP(10, 1, 1, 1), 1,
			0);
		if (i % EVERY == EVERY - 1)
			put(f, host(3, i / EVERY), IP(10, 2, 1, 1), 64, SMALL_MTU);
	}
	assert_int_equal(fclose(f), 0);
}

static bool
all_seen(void *ctx)
{
	(void)ctx;
	return lab_seen() == written;
}

/* Number of hosts of each class with an error, and number of errors by type. */
static void
read_errors(const char *path, unsigned had[4], unsigned *expired, unsigned *too_big)
{
	bool seen[4][HOSTS] = {{false}};
	FILE *f = pcap_open(path);
	uint8_t got[2048];
	int len;

	assert_non_null(f);
	*expired = *too_big = 0;
	memset(had, 0, 4 * sizeof(had[0]));
	while ((len = pcap_next(f, got, sizeof(got))) >= 0) {
		const uint8_t *to = got + 30, *icmp = got + 34;

		assert_true(len > 42 && got[23] == 1);
		assert_true((icmp[0] == 11 && icmp[1] == 0) || (icmp[0] == 3 && icmp[1] == 4));
		*(icmp[0] == 11 ? expired : too_big) += 1;
		if (to[0] != 20 || to[1] == 0 || to[1] > 3)
			continue;
		assert_true(to[2] < HOSTS && icmp[0] == (to[1] == 1 ? 11 : 3));
		had[to[1]] += !seen[to[1]][to[2]];
		seen[to[1]][to[2]] = true;
	}
	fclose(f);
}

static void
set_routes(struct lab_fib *lab)
{
	struct next_hop_id on = lab_next_hop(lab, IP(192, 0, 2, 1), 0, mac_a, 1500);
	struct next_hop_id small = lab_next_hop(lab, IP(192, 0, 2, 2), 0, mac_a, SMALL_MTU);

	lab_route(lab, IP(10, 1, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &on, 1);
	lab_route(lab, IP(10, 2, 0, 0), 16, PATH_LIST_FORWARD, PORT_NONE, &small, 1);
	lab_route(lab, IP(20, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &on, 1);
	lab_route(lab, IP(30, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &on, 1);
	lab_commit(lab);
}

static void
test_scanner_and_other_hosts(void **state)
{
	unsigned had[4], expired, too_big;
	char in[64], out[64], device[200];
	static struct lab_fib lab;
	uint64_t started, ms;

	(void)state;
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	snprintf(out, sizeof(out), "%s/out.pcap", directory);
	write_flood(in);
	lab_eal_up(directory, 64);
	snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", out);
	lab_port("out", device);
	snprintf(device, sizeof(device), "net_pcap1,rx_pcap=%s", in);
	lab_port("in", device);
	lab_fib_up(&lab);
	set_routes(&lab);
	started = lab_now_ns();
	lab_workers_up(&lab);
	assert_true(lab_wait(all_seen, NULL, 300));
	ms = (lab_now_ns() - started) / 1000000;
	assert_int_equal(lab_drops(DROP_ttl_expired), 2 * FLOOD + HOSTS);
	assert_int_equal(lab_drops(DROP_too_big), 2 * HOSTS);
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	read_errors(out, had, &expired, &too_big);
	print_message(
		"%u ms: %u time-exceeded, %u fragmentation-needed; hosts that had their error: "
		"%u, %u, %u of %u\n",
		(unsigned)ms, expired, too_big, had[1], had[2], had[3], HOSTS);
	assert_int_equal(had[2], HOSTS);
	assert_int_equal(had[3], HOSTS);
	/* A host shares the scanner's bucket with probability 1/256: five of twenty do so once in 10^8 runs. */
	assert_true(had[1] > HOSTS - 5);
	/* the bound of the worker holds */
	assert_true(expired <= ICMP_PER_S / ICMP_BURST_PART + ICMP_PER_S * (ms + 1) / 1000 + 1);
	unlink(in);
	unlink(out);
}

/* ---- the limit alone ---- */

#define HZ 3000000000u
#define TICK (HZ / 1000)
#define TICKS 10000 /* 10 s */
#define KEYS 16
#define AT_ONCE 200 /* packets of the flood in each tick */

/* A header with only the source set: host `low` in /24 or /48 number `n`. */
static const uint8_t *
header(enum afi afi, uint32_t n, uint8_t low)
{
	static uint8_t ip[40];

	memset(ip, 0, sizeof(ip));
	if (afi == AFI_IPV4) {
		lab_set32(ip + 12, n << 8 | low);
	} else {
		ip[8] = 0x20;
		ip[9] = 0x01;
		lab_set32(ip + 10, n);
		ip[14] = low; /* a different /64 of one /48 */
		ip[23] = low;
	}
	return ip;
}

struct tally {
	unsigned flood, expired, expired_asked, too_big, too_big_asked;
};

/* Hosts send one packet of each kind every 100 ms. */
static void
run(enum afi afi, bool forged, uint64_t seed, struct tally *t)
{
	uint64_t key[2] = {lab_random(&seed), lab_random(&seed)};
	static struct icmp_limit l;

	icmp_limit_init(&l, HZ, key);
	for (unsigned tick = 0; tick < TICKS; tick++) {
		uint64_t now = (uint64_t)HZ * 5 + (uint64_t)tick * TICK;

		for (unsigned i = 0; i < AT_ONCE; i++) {
			uint32_t n = forged ? 0x100000 + lab_below(&seed, 0x100000) : 0x99999;

			t->flood += icmp_limit_take(&l, header(afi, n, (uint8_t)i), afi,
				VRF_DEFAULT, ICMP_CLASS_OTHER, now);
		}
		if (tick % (100 / HOSTS) != 0)
			continue;
		uint32_t n = 0x1000 + tick / (100 / HOSTS) % HOSTS;
		t->too_big_asked++;
		t->too_big += icmp_limit_take(
			&l, header(afi, n, 1), afi, VRF_DEFAULT, ICMP_CLASS_TOO_BIG, now);
		t->expired_asked++;
		t->expired += icmp_limit_take(
			&l, header(afi, n, 1), afi, VRF_DEFAULT, ICMP_CLASS_OTHER, now);
	}
}

static void
check_family(enum afi afi)
{
	unsigned seconds = KEYS * TICKS / 1000;
	struct tally one = {0}, many = {0};

	for (unsigned i = 0; i < KEYS; i++) {
		run(afi, false, 20261123 + i, &one);
		run(afi, true, 20261123 + i, &many);
	}
	print_message("IPv%u, one scanner: %u a second for it, %u of %u time-exceeded and %u of %u "
		      "too-big for others; forged: %u a second, %u of %u too-big\n",
		afi == AFI_IPV4 ? 4 : 6, one.flood / seconds, one.expired, one.expired_asked,
		one.too_big, one.too_big_asked, many.flood / seconds, many.too_big,
		many.too_big_asked);
	/* the bucket is full at the start, and the hash may change once: two bursts */
	assert_true(one.flood <= KEYS * (ICMP_PREFIX_PER_S * (TICKS / 1000) + 20));
	assert_int_equal(one.too_big, one.too_big_asked);
	assert_true(one.expired >= one.expired_asked / 100 * 97);
	assert_int_equal(many.too_big, many.too_big_asked);
	assert_true(many.flood + many.expired <=
		    KEYS * (ICMP_PER_S * (TICKS / 1000) + ICMP_PER_S / ICMP_BURST_PART));
}

static void
test_shares(void **state)
{
	(void)state;
	check_family(AFI_IPV4);
	check_family(AFI_IPV6);
}

/* Two prefixes share a bucket for an epoch, not longer. */
static void
test_epochs(void **state)
{
	uint64_t key[2] = {1, 2}, now = HZ;
	static struct icmp_limit l;
	unsigned shared = 0;

	(void)state;
	icmp_limit_init(&l, HZ, key);
	for (unsigned epoch = 0; epoch < 2000;
		epoch++, now += UINT64_C(1) << ICMP_LIMIT_EPOCH_SHIFT) {
		const uint8_t *ip = header(AFI_IPV4, 7, 1);

		while (icmp_limit_take(&l, ip, AFI_IPV4, VRF_DEFAULT, ICMP_CLASS_OTHER, now))
			;
		shared += !icmp_limit_take(
			&l, header(AFI_IPV4, 8, 1), AFI_IPV4, VRF_DEFAULT, ICMP_CLASS_OTHER, now);
	}
	/* 2000 / 256 are 8 */
	print_message("two prefixes share a bucket in %u of 2000 epochs\n", shared);
	assert_true(shared > 0 && shared < 30);
	/* the same address in a second VRF is a different host */
	assert_true(icmp_limit_take(
		&l, header(AFI_IPV4, 7, 1), AFI_IPV4, (struct vrf_id){1}, ICMP_CLASS_OTHER, now));
	/* a TSC that went back does not stop errors for long */
	assert_true(icmp_limit_take(
		&l, header(AFI_IPV4, 9, 1), AFI_IPV4, VRF_DEFAULT, ICMP_CLASS_TOO_BIG, now));
	assert_true(icmp_limit_take(
		&l, header(AFI_IPV4, 9, 1), AFI_IPV4, VRF_DEFAULT, ICMP_CLASS_TOO_BIG, HZ));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_scanner_and_other_hosts),
	};
	int failed;

	role_enter_main();
	role_enter_worker(); /* the limit's clock is the test's */
	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
