/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random frames, and the kept corpus of the fuzzer fuzz_mpls.c, through the stages for labelled
 * packets (mpls_rig.h).
 *
 * KEEL_SEED (1), KEEL_RUNS (1,000,000; with sanitizers 200,000): for long runs.
 */
#include "mpls_rig.h"
#include "tests/fuzz/mutate.h"
#include "tests/lpm/size.h"

#include <dirent.h>

#define MUTATIONS 2000u /* of a file */
#ifdef KEEL_SANITIZED
#define RUNS 200000
#else
#define RUNS 1000000
#endif
/* A frame with one or two labels above IPv4 or IPv6, then some mutations. */
static unsigned
make_input(uint8_t *to, uint64_t *seed)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, v6[16] = {0x20, 1, 0xd, 0xb8, 1};
	unsigned labels = 1 + lab_below(seed, 3), changes = lab_below(seed, 6);
	struct lab_frame f;
	size_t len;

	if (lab_below(seed, 2))
		lab_udp(&f, mac, IP(11, 1, 1, 1), IP(10, 1, 1, 1), (uint8_t)lab_below(seed, 256),
			lab_below(seed, 3), lab_below(seed, 80), seed);
	else
		lab_udp6(&f, mac, v6, v6, (uint8_t)lab_below(seed, 256), lab_below(seed, 60), seed);
	memcpy(to, f.b, ETHER_LEN);
	len = ETHER_LEN;
	for (unsigned i = 0; i < labels; i++, len += 4)
		lab_set32(to + len, (lab_below(seed, 3) ? LABEL_FIRST + lab_below(seed, LABELS)
							: lab_below(seed, 4))
						    << 12 |
					    (uint32_t)(i + 1 == labels) << 8 |
					    lab_below(seed, 256));
	memcpy(to + len, f.b + ETHER_LEN, f.len - ETHER_LEN);
	len += f.len - ETHER_LEN;
	if (lab_below(seed, 8) == 0)
		len = ETHER_LEN + lab_below(seed, (uint32_t)(len - ETHER_LEN));
	for (unsigned i = 0; i < changes; i++)
		len = mutate(to, len, FRAME_MAX, seed);
	to[0] = (uint8_t)lab_random(seed); /* the options, and the first octet of the frame */
	return len < ETHER_LEN ? ETHER_LEN : (unsigned)len;
}

static void
test_input(void **state)
{
	uint64_t seed = test_setting("KEEL_SEED", 1), runs = test_setting("KEEL_RUNS", RUNS);
	uint8_t input[FRAME_MAX + 32];
	unsigned reader;

	(void)state;
	reader = reader_begin();
	for (uint64_t i = 0; i < runs; i++)
		run(input, make_input(input, &seed), lab_below(&seed, 3) ? 0 : UDP_TUNNEL_HEADERS,
			&seed);
	reader_end(reader);
	print_message("%u sent, %u dropped, %u waiting, %u faults\n", ended[0], ended[1], ended[2],
		ended[3]);
	for (unsigned i = 0; i < 4; i++)
		assert_true(ended[i] > 0);
	for (unsigned i = DROP_mpls_port; i <= DROP_udp_checksum; i++)
		assert_true(stats.drops[i] > 0);
	lab_fib_down(&lab);
}

/* On a heap block of this size: the file, each truncation, and some mutations. */
static void
replay(const uint8_t *data, size_t size, uint64_t *seed)
{
	for (unsigned i = 0; i < INPUT_MAX + MUTATIONS; i++) {
		uint8_t input[INPUT_MAX], *exact;
		size_t len = i < size ? i : size;

		memcpy(input, data, len);
		for (unsigned n = i < INPUT_MAX ? 0 : 1 + lab_below(seed, 4); n > 0; n--)
			len = mutate(input, len, sizeof(input), seed);
		exact = malloc(len + 1);
		assert_non_null(exact);
		memcpy(exact + 1, input, len);
		run_input(exact + 1, len);
		free(exact);
	}
}

/* The kept corpus. */
static void
test_corpus(void **state)
{
	static const char folder[] = KEEL_SOURCE_ROOT "/tests/fuzz/corpus/mpls";
	uint64_t seed = test_setting("KEEL_SEED", 1);
	unsigned reader, files = 0;
	struct dirent *e;
	DIR *d = opendir(folder);

	(void)state;
	assert_non_null(d);
	reader = reader_begin();
	while ((e = readdir(d)) != NULL) {
		uint8_t data[INPUT_MAX];
		char path[4096];
		size_t len;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		f = fopen(path, "rb");
		assert_non_null(f);
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		replay(data, len, &seed);
		files++;
	}
	closedir(d);
	assert_true(files > 0);
	reader_end(reader);
	lab_fib_down(&lab);
}

/* Gives a tunnel packet of `chain` buffers to udp_tunnel_take(). */
static struct rte_mbuf
take_tunnel(uint8_t *buffer, unsigned len, uint16_t chain)
{
	const unsigned total = 20 + 8 + 4; /* a label alone; Ethernet padding follows */
	struct rte_ipv4_hdr h = {.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(20 + 8 + 4),
		.next_proto_id = IPPROTO_UDP,
		.src_addr = EDGE,
		.dst_addr = OWN};
	uint16_t udp[4] = {0, RTE_BE16(UDP_TUNNEL_PORT), RTE_BE16(8 + 4), 0};
	struct rte_mbuf m = {.buf_addr = buffer,
		.buf_len = (uint16_t)len,
		.data_len = (uint16_t)(ETHER_LEN + total),
		.pkt_len = ETHER_LEN + total + 100u * (chain - 1u),
		.nb_segs = chain,
		.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD};

	memcpy(buffer + ETHER_LEN, &h, sizeof(h));
	memcpy(buffer + ETHER_LEN + sizeof(h), udp, sizeof(udp));
	burst_init(&burst, &stats, false);
	assert_true(udp_tunnel_take(&burst, &m, buffer + ETHER_LEN, fib_reader(lab.fib)));
	return m;
}

/* Of a chain the tunnel takes no packet: padding in later buffers would follow the MPLS packet. */
static void
test_buffers(void **state)
{
	uint8_t buffer[128] = {0};
	uint64_t dropped;
	struct rte_mbuf m;

	(void)state;
	lab_fib_up(&lab);
	make_tables();
	m = take_tunnel(buffer, sizeof(buffer), 1);
	assert_int_equal(burst.mpls.count, 1);
	assert_int_equal(m.pkt_len, ETHER_LEN + 4);
	/* the checksum of an IPv4 header below the label is unknown */
	assert_int_equal(m.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, 0);
	dropped = stats.drops[DROP_udp_short];
	(void)take_tunnel(buffer, sizeof(buffer), 2);
	assert_int_equal(burst.mpls.count, 0);
	assert_int_equal(burst.dropped_count, 1);
	assert_int_equal(stats.drops[DROP_udp_short], dropped + 1);
	lab_fib_down(&lab);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_input),
	};

	role_enter_main();
	role_enter_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
