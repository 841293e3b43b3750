/* SPDX-License-Identifier: BSD-3-Clause */
/* Verdicts of the XDP program, run in the kernel by BPF_PROG_TEST_RUN. Needs root. */
#include "dataplane/port/host_peers.h"
#include "dataplane/forward/punt.h"
#include "dataplane/forward/udp_tunnel.h"
#include "dataplane/port/xdp.h"
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sched.h>
#include <sys/socket.h>

static struct {
	struct bpf_object *object;
	int program, local_v4, local_v6, peers_v4, peers_v6, buckets, socket;
} kernel;

static const uint8_t our_mac[6] = {0x02, 0, 0, 0, 0, 1};

static int
set_up(void **state)
{
	char path[] = "/tmp/keel-test-xdp-XXXXXX";
	struct bpf_map *map;
	uint32_t queue = 0;
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	assert_int_equal(xdp_write_object(path), 0);
	kernel.object = bpf_object__open_file(path, NULL);
	unlink(path);
	if (kernel.object == NULL || bpf_object__load(kernel.object) != 0)
		return -1;
	/* The driver relies on the order of programs and the name of the map. */
	kernel.program = bpf_program__fd(bpf_object__next_program(kernel.object, NULL));
	assert_string_equal(
		bpf_program__name(bpf_object__next_program(kernel.object, NULL)), "keel_xdp");
	kernel.local_v4 = bpf_map__fd(bpf_object__find_map_by_name(kernel.object, "local_v4"));
	kernel.local_v6 = bpf_map__fd(bpf_object__find_map_by_name(kernel.object, "local_v6"));
	kernel.peers_v4 = bpf_map__fd(bpf_object__find_map_by_name(kernel.object, "peers_v4"));
	kernel.peers_v6 = bpf_map__fd(bpf_object__find_map_by_name(kernel.object, "peers_v6"));
	kernel.buckets = bpf_map__fd(bpf_object__find_map_by_name(kernel.object, "host_buckets"));
	map = bpf_object__find_map_by_name(kernel.object, "xsks_map");
	assert_non_null(map);
	kernel.socket = socket(AF_XDP, SOCK_RAW, 0);
	assert_true(kernel.socket >= 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &queue, &kernel.socket, BPF_ANY), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	close(kernel.socket);
	bpf_object__close(kernel.object);
	return 0;
}

static unsigned
verdict(const uint8_t *frame, unsigned len)
{
	uint8_t copy[2048];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = copy, .data_size_in = len);

	memcpy(copy, frame, len);
	assert_int_equal(bpf_prog_test_run_opts(kernel.program, &o), 0);
	return o.retval;
}

static unsigned
verdict_to(uint32_t destination)
{
	struct lab_frame f;
	uint64_t seed = 1;

	lab_udp(&f, our_mac, IP(198, 51, 100, 1), destination, 64, 0, 20, &seed);
	return verdict(f.b, f.len);
}

static void
test_transit_goes_to_the_worker(void **state)
{
	static const uint32_t transit[] = {IP(8, 8, 8, 8), IP(223, 255, 255, 255), IP(240, 0, 0, 1),
		IP(10, 0, 0, 255), IP(127, 0, 0, 1), IP(192, 0, 2, 2)};

	(void)state;
	for (unsigned i = 0; i < sizeof(transit) / sizeof(transit[0]); i++)
		assert_int_equal(verdict_to(transit[i]), XDP_REDIRECT);
}

static void
test_local_goes_to_the_kernel(void **state)
{
	uint8_t address[4] = {192, 0, 2, 1}, one = 1;

	(void)state;
	assert_int_equal(verdict_to(IP(192, 0, 2, 1)), XDP_REDIRECT);
	assert_int_equal(bpf_map_update_elem(kernel.local_v4, address, &one, BPF_ANY), 0);
	assert_int_equal(verdict_to(IP(192, 0, 2, 1)), XDP_PASS);
	assert_int_equal(verdict_to(IP(192, 0, 2, 3)), XDP_REDIRECT);
	assert_int_equal(bpf_map_delete_elem(kernel.local_v4, address), 0);
	assert_int_equal(verdict_to(IP(192, 0, 2, 1)), XDP_REDIRECT);
}

static void
test_multicast_and_broadcast(void **state)
{
	struct lab_frame f;
	uint64_t seed = 1;

	(void)state;
	assert_int_equal(verdict_to(IP(224, 0, 0, 5)), XDP_PASS);
	assert_int_equal(verdict_to(IP(239, 255, 255, 255)), XDP_PASS);
	assert_int_equal(verdict_to(IP(255, 255, 255, 255)), XDP_PASS);
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(10, 0, 0, 1), 64, 0, 20, &seed);
	memset(f.b, 0xff, 6);
	assert_int_equal(verdict(f.b, f.len), XDP_PASS);
	memcpy(f.b, "\x01\x00\x5e\x00\x00\x05", 6);
	assert_int_equal(verdict(f.b, f.len), XDP_PASS);
}

/* ---- IPv6 ---- */

static void
make_v6(struct lab_frame *f, const char *source, const char *destination)
{
	struct ip_addr s = lab_addr(source), d = lab_addr(destination);
	uint64_t seed = 1;

	lab_udp6(f, our_mac, s.b, d.b, 64, 20, &seed);
}

static unsigned
verdict_to_v6(const char *destination)
{
	struct lab_frame f;

	make_v6(&f, "2001:db8:9::1", destination);
	return verdict(f.b, f.len);
}

static void
test_v6_transit_goes_to_the_worker(void **state)
{
	static const char *const transit[] = {"2001:db8::1", "::1", "::", "fc00::1", "fe00::1",
		"fec0::1", "::ffff:192.0.2.1", "2001:db8:1::2"};
	struct lab_frame f;

	(void)state;
	for (unsigned i = 0; i < sizeof(transit) / sizeof(transit[0]); i++)
		assert_int_equal(verdict_to_v6(transit[i]), XDP_REDIRECT);
	/*
	 * A link-local source with a transit destination: the worker drops the packet with a
	 * reason.
	 */
	make_v6(&f, "fe80::5", "2001:db8::1");
	assert_int_equal(verdict(f.b, f.len), XDP_REDIRECT);
}

static void
test_v6_local_goes_to_the_kernel(void **state)
{
	struct ip_addr ours = lab_addr("2001:db8:1::1");
	uint8_t one = 1;

	(void)state;
	assert_int_equal(verdict_to_v6("2001:db8:1::1"), XDP_REDIRECT);
	assert_int_equal(bpf_map_update_elem(kernel.local_v6, ours.b, &one, BPF_ANY), 0);
	assert_int_equal(verdict_to_v6("2001:db8:1::1"), XDP_PASS);
	assert_int_equal(verdict_to_v6("2001:db8:1::3"), XDP_REDIRECT);
	assert_int_equal(bpf_map_delete_elem(kernel.local_v6, ours.b), 0);
	assert_int_equal(verdict_to_v6("2001:db8:1::1"), XDP_REDIRECT);
}

static void
test_v6_link_local_and_multicast(void **state)
{
	static const char *const theirs[] = {
		"fe80::1", "febf:ffff::1", "ff02::1", "ff02::1:ff00:1", "ff0e::5"};
	struct lab_frame f;

	(void)state;
	for (unsigned i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		assert_int_equal(verdict_to_v6(theirs[i]), XDP_PASS);
	make_v6(&f, "2001:db8:9::1", "2001:db8::1");
	memcpy(f.b, "\x33\x33\x00\x00\x00\x01", 6);
	assert_int_equal(verdict(f.b, f.len), XDP_PASS);
}

/*
 * Neighbour discovery to an address not yet in the map; without hop limit 255 the packet is
 * forwarded like others.
 */
static void
test_v6_discovery(void **state)
{
	struct lab_frame f;

	(void)state;
	make_v6(&f, "2001:db8:1::2", "2001:db8:1::77");
	f.b[20] = 58;
	for (unsigned type = 128; type < 142; type++) {
		bool discovery = type >= 133 && type <= 137;

		f.b[54] = (uint8_t)type;
		f.b[21] = 255;
		assert_int_equal(verdict(f.b, f.len), discovery ? XDP_PASS : XDP_REDIRECT);
		f.b[21] = 254;
		assert_int_equal(verdict(f.b, f.len), XDP_REDIRECT);
	}
	f.b[20] = 17;
	f.b[21] = 255;
	f.b[54] = 135;
	assert_int_equal(verdict(f.b, f.len), XDP_REDIRECT);
}

static void
test_v6_short_frames(void **state)
{
	struct lab_frame f;

	(void)state;
	make_v6(&f, "2001:db8:9::1", "2001:db8::1");
	for (unsigned len = 14; len < 54; len++)
		assert_int_equal(verdict(f.b, len), XDP_PASS);
	for (unsigned len = 54; len < f.len; len++)
		assert_int_equal(verdict(f.b, len), XDP_REDIRECT);
	f.b[20] = 58;
	f.b[21] = 255;
	f.b[54] = 135;
	/* Too short for discovery: redirected like any packet. */
	assert_int_equal(verdict(f.b, 60), XDP_REDIRECT);
	assert_int_equal(verdict(f.b, 62), XDP_PASS);
}

static void
test_other_protocols(void **state)
{
	static const uint16_t types[] = {0x0806, 0x8100, 0x88a8, 0x8848, 0x88cc, 0x0801, 0x0008};
	struct lab_frame f;
	uint64_t seed = 1;

	(void)state;
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(10, 0, 0, 1), 64, 0, 20, &seed);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		f.b[12] = (uint8_t)(types[i] >> 8);
		f.b[13] = (uint8_t)types[i];
		assert_int_equal(verdict(f.b, f.len), XDP_PASS);
	}
}

/* A frame of VLAN 0 is handled like the frame without the tag; frames of other VLANs go to the kernel. */
static void
test_priority_tag(void **state)
{
	struct lab_frame f, plain;
	uint64_t seed = 1;

	(void)state;
	for (unsigned own = 0; own < 2; own++) {
		lab_udp(&plain, our_mac, IP(198, 51, 100, 1),
			own ? IP(192, 0, 2, 1) : IP(10, 0, 0, 1), 64, 0, 20, &seed);
		f = plain;
		memmove(f.b + 16, f.b + 12, f.len - 12);
		memcpy(f.b + 12, "\x81\x00\xe0\x00", 4);
		for (unsigned len = 18; len < plain.len; len++)
			assert_int_equal(verdict(f.b, len + 4), verdict(plain.b, len));
		f.b[15] = 1;
		assert_int_equal(verdict(f.b, f.len + 4), XDP_PASS);
	}
}

/* Labelled packets go to the worker, also those that are cut short. */
static void
test_labels(void **state)
{
	struct lab_frame f;
	uint64_t seed = 1;

	(void)state;
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(10, 0, 0, 1), 64, 0, 20, &seed);
	f.b[12] = 0x88;
	f.b[13] = 0x47;
	for (unsigned len = 14; len < f.len; len++)
		assert_int_equal(verdict(f.b, len), XDP_REDIRECT);
	f.b[0] |= 1;
	assert_int_equal(verdict(f.b, f.len), XDP_PASS);
}

static void
test_short_frames(void **state)
{
	struct lab_frame f;
	uint64_t seed = 1;

	(void)state;
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(10, 0, 0, 1), 64, 0, 20, &seed);
	/* The kernel runs no test with less than an Ethernet header. */
	for (unsigned len = 14; len < 34; len++)
		assert_int_equal(verdict(f.b, len), XDP_PASS);
	for (unsigned len = 34; len < f.len; len++)
		assert_int_equal(verdict(f.b, len), XDP_REDIRECT);
}

/* Fragments get no special treatment: the worker forwards them. */
static void
test_fragment(void **state)
{
	struct lab_frame f;
	uint64_t seed = 1;

	(void)state;
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(10, 0, 0, 1), 64, 3, 20, &seed);
	f.b[20] = 0x20;
	f.b[21] = 0x07;
	assert_int_equal(verdict(f.b, f.len), XDP_REDIRECT);
}

/* ---- classes of packets for the kernel ---- */

/* As in keel_xdp.bpf.c. */
struct host_bucket {
	struct bpf_spin_lock lock;
	uint32_t unused;
	uint64_t period, most, tokens, last, passed, policed;
};

static struct host_bucket
bucket_get(uint32_t class)
{
	struct host_bucket b;

	assert_int_equal(bpf_map_lookup_elem(kernel.buckets, &class, &b), 0);
	return b;
}

/* The class in which the program counts a frame. */
static enum host_class
class_in_kernel(const uint8_t *frame, unsigned len)
{
	uint64_t before[HOST_CLASSES];
	enum host_class found = HOST_CLASSES;

	for (uint32_t i = 0; i < HOST_CLASSES; i++)
		before[i] = bucket_get(i).passed;
	assert_int_equal(verdict(frame, len), XDP_PASS);
	for (uint32_t i = 0; i < HOST_CLASSES; i++) {
		uint64_t grown = bucket_get(i).passed - before[i];

		assert_true(grown <= 1 && (grown == 0 || found == HOST_CLASSES));
		if (grown == 1)
			found = (enum host_class)i;
	}
	assert_int_not_equal(found, HOST_CLASSES);
	return found;
}

static struct host_peers peers;

static enum host_class
class_of(const uint8_t *frame, unsigned len)
{
	role_enter_worker();
	return punt_class(&peers, VRF_DEFAULT, frame, len);
}

static void
add_peer(const char *text)
{
	struct ip_addr a = lab_addr(text);
	uint8_t one = 1;

	role_enter_main();
	assert_true(host_peers_set(&peers, VRF_DEFAULT, &a, true));
	assert_int_equal(bpf_map_update_elem(a.afi == AFI_IPV4 ? kernel.peers_v4 : kernel.peers_v6,
				 a.b, &one, BPF_ANY),
		0);
}

/* Frames that differ from each other in one place; the first byte makes all of them group frames. */
static unsigned
class_frame(uint8_t f[128], const char *from, unsigned protocol, unsigned source, unsigned to)
{
	struct ip_addr a = lab_addr(from);
	bool v4 = a.afi == AFI_IPV4;
	unsigned l4 = v4 ? 34 : 54;

	memset(f, 0, 128);
	f[0] = 1;
	f[12] = v4 ? 0x08 : 0x86;
	f[13] = v4 ? 0x00 : 0xdd;
	f[14] = v4 ? 0x45 : 0x60;
	f[v4 ? 23 : 20] = (uint8_t)protocol;
	f[v4 ? 22 : 21] = 255;
	memcpy(f + (v4 ? 26 : 22), a.b, v4 ? 4 : 16);
	f[l4] = (uint8_t)(source >> 8);
	f[l4 + 1] = (uint8_t)source;
	f[l4 + 2] = (uint8_t)(to >> 8);
	f[l4 + 3] = (uint8_t)to;
	return 100;
}

static void
test_classes(void **state)
{
	static const struct {
		const char *from;
		unsigned protocol, source, to;
		enum host_class class;
	} cases[] = {
		{"192.0.2.9", 6, 50000, 179, HOST_BGP_PEERS},
		{"192.0.2.9", 6, 179, 50000, HOST_BGP_PEERS},
		{"192.0.2.8", 6, 50000, 179, HOST_BGP_OTHERS},
		{"192.0.2.8", 6, 179, 50000, HOST_BGP_OTHERS},
		{"192.0.2.8", 6, 50000, 22, HOST_OTHERS},
		{"192.0.2.9", 17, 50000, 179, HOST_OTHERS},
		{"192.0.2.9", 1, 8 << 8, 0, HOST_ICMP},
		{"2001:db8::9", 6, 50000, 179, HOST_BGP_PEERS},
		{"2001:db8::8", 6, 50000, 179, HOST_BGP_OTHERS},
		{"2001:db8::8", 6, 50000, 22, HOST_OTHERS},
		{"2001:db8::9", 58, 128 << 8, 0, HOST_ICMP},
		{"2001:db8::9", 58, 135 << 8, 0, HOST_BGP_PEERS},
		{"2001:db8::8", 58, 135 << 8, 0, HOST_NEIGHBORS},
		{"fe80::8", 58, 136 << 8, 0, HOST_NEIGHBORS},
		{"2001:db8::8", 17, 50000, 179, HOST_OTHERS},
	};
	struct ip_addr peer6 = lab_addr("2001:db8::9"), peer4 = lab_addr("192.0.2.9");
	uint8_t f[128];

	(void)state;
	add_peer("192.0.2.9");
	add_peer("2001:db8::9");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned len = class_frame(
			f, cases[i].from, cases[i].protocol, cases[i].source, cases[i].to);

		if (class_of(f, len) != cases[i].class)
			fail_msg("case %u: class %d", i, class_of(f, len));
		assert_int_equal(class_in_kernel(f, len), cases[i].class);
	}
	/* an advertisement from a link-local address about the address of the peer */
	class_frame(f, "fe80::8", 58, 136 << 8, 0);
	memcpy(f + 62, peer6.b, 16);
	assert_int_equal(class_of(f, 100), HOST_BGP_PEERS);
	assert_int_equal(class_in_kernel(f, 100), HOST_BGP_PEERS);
	/* a later fragment of a stranger has no ports */
	class_frame(f, "192.0.2.8", 6, 50000, 179);
	f[21] = 1;
	assert_int_equal(class_of(f, 100), HOST_OTHERS);
	/* ARP of the peer, and of others */
	memset(f, 0, sizeof(f));
	f[0] = 1;
	f[12] = 0x08;
	f[13] = 0x06;
	assert_int_equal(class_of(f, 60), HOST_NEIGHBORS);
	memcpy(f + 28, peer4.b, 4);
	assert_int_equal(class_of(f, 60), HOST_BGP_PEERS);
	assert_int_equal(class_in_kernel(f, 60), HOST_BGP_PEERS);
}

/* The program and punt.c decide alike, also about frames that are damaged or cut short. */
static void
test_classes_agree(void **state)
{
	static const char *const from[] = {"192.0.2.9", "192.0.2.8", "2001:db8::9", "fe80::8"};
	static const uint8_t protocol[] = {1, 6, 17, 58};
	static const uint16_t port[] = {179, 22, 8 << 8, 134 << 8, 135 << 8, 136 << 8};
	unsigned seen[HOST_CLASSES] = {0};
	uint64_t seed = 7;
	uint8_t f[128];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned len, at;

		class_frame(f, from[lab_below(&seed, 4)], protocol[lab_below(&seed, 4)],
			port[lab_below(&seed, 6)], port[lab_below(&seed, 6)]);
		for (unsigned k = lab_below(&seed, 4); k > 0; k--) {
			at = 12 + lab_below(&seed, 80);
			f[at] = (uint8_t)lab_below(&seed, 256);
		}
		if (lab_below(&seed, 8) == 0)
			memcpy(f + 12, "\x08\x06", 2);
		len = lab_below(&seed, 2) == 0 ? 100 : 14 + lab_below(&seed, 100);
		if (class_of(f, len) != class_in_kernel(f, len))
			fail_msg("frame %u: %d, in the kernel %d", i, class_of(f, len),
				class_in_kernel(f, len));
		seen[class_of(f, len)]++;
	}
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		assert_true(seen[i] > 100);
}

static void
test_policing(void **state)
{
	struct host_bucket b = {.period = UINT64_C(1000000000000), .most = UINT64_C(3000000000000)};
	uint32_t icmp = HOST_ICMP;
	uint8_t f[128];
	unsigned passed = 0;

	(void)state;
	b.tokens = b.most;
	assert_int_equal(bpf_map_update_elem(kernel.buckets, &icmp, &b, BPF_ANY), 0);
	class_frame(f, "192.0.2.8", 1, 8 << 8, 0);
	for (unsigned i = 0; i < 10; i++) {
		unsigned v = verdict(f, 100);

		assert_true(v == XDP_PASS || v == XDP_DROP);
		passed += v == XDP_PASS;
	}
	b = bucket_get(HOST_ICMP);
	assert_int_equal(passed, 3);
	assert_int_equal(b.passed, 3);
	assert_int_equal(b.policed, 7);
	/* another class is not affected */
	class_frame(f, "192.0.2.9", 6, 50000, 179);
	assert_int_equal(verdict(f, 100), XDP_PASS);
	b = (struct host_bucket){0};
	assert_int_equal(bpf_map_update_elem(kernel.buckets, &icmp, &b, BPF_ANY), 0);
}

/* Many addresses come and go; each present address is found, and no other. */
static void
test_peers(void **state)
{
	static struct host_peers t;
	static bool present[4096];
	uint64_t seed = 3;

	(void)state;
	role_enter_main();
	for (unsigned i = 0; i < 40000; i++) {
		unsigned n = lab_below(&seed, 4096);
		struct ip_addr a = addr_from_v4(0x0a000000 + n);

		present[n] = lab_below(&seed, 4) != 0;
		assert_true(host_peers_set(&t, VRF_DEFAULT, &a, present[n]));
	}
	for (unsigned n = 0; n < 4096; n++) {
		struct ip_addr a = addr_from_v4(0x0a000000 + n);

		assert_int_equal(host_peers_have(&t, VRF_DEFAULT, AFI_IPV4, a.b), present[n]);
		assert_false(host_peers_have(&t, (struct vrf_id){1}, AFI_IPV4, a.b));
	}
	for (unsigned n = 0; n < 4096; n++) {
		struct ip_addr a = addr_from_v4(0x0a000000 + n);

		assert_true(host_peers_set(&t, VRF_DEFAULT, &a, false));
	}
	for (unsigned i = 0; i < HOST_PEER_SLOTS; i++)
		assert_int_equal(atomic_load(&t.slot[i]), 0);
}

/* Peers at equal distances, as operators number them, find their slots. */
static void
test_peers_at_equal_distances(void **state)
{
	static const uint32_t distance[] = {1, 4, 256, 65536, 66650, 1u << 20};
	static struct host_peers t;

	(void)state;
	role_enter_main();
	for (unsigned d = 0; d < sizeof(distance) / sizeof(distance[0]); d++) {
		for (int present = 1; present >= 0; present--) {
			for (unsigned n = 0; n < 4095; n++) {
				struct ip_addr a = addr_from_v4(0x0a000001 + n * distance[d]);

				assert_true(host_peers_set(&t, VRF_DEFAULT, &a, present != 0));
			}
		}
	}
}

/*
 * Last, because the socket is removed: the kernel gets all packets without a worker, and none is
 * lost.
 */
static void
test_without_a_socket(void **state)
{
	uint32_t queue = 0;

	(void)state;
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(bpf_object__find_map_by_name(
						     kernel.object, "xsks_map")),
				 &queue),
		0);
	assert_int_equal(verdict_to(IP(8, 8, 8, 8)), XDP_PASS);
	assert_int_equal(verdict_to_v6("2001:db8::1"), XDP_PASS);
}

/*
 * Packets of UDP tunnels go to the worker on a port of `default` with `mpls` alone. On other ports a
 * sender could forge the source address of a remote edge.
 */
static void
test_tunnels_of_ports(void **state)
{
	static const struct {
		struct vrf_id vrf;
		bool mpls;
	} ports[] = {{VRF_DEFAULT, false}, {VRF_DEFAULT, true}, {{3}, true}};
	struct ip_addr own = lab_addr("192.0.2.1");
	uint32_t loopback = 1, address;
	struct host_limits limits = {0};
	struct dataplane_error err;
	struct lab_frame f;
	uint64_t seed = 1;
	struct xdp *x;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	memcpy(&address, own.b, sizeof(address));
	lab_udp(&f, our_mac, IP(198, 51, 100, 1), IP(192, 0, 2, 1), 64, 0, 20, &seed);
	f.b[36] = UDP_TUNNEL_PORT >> 8;
	f.b[37] = UDP_TUNNEL_PORT & 0xff;
	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		unsigned expected = i == 1 ? XDP_REDIRECT : XDP_PASS;

		role_enter_main();
		assert_int_equal(xdp_create(&x), 0);
		assert_int_equal(xdp_reserve(x, loopback, &err), 0);
		assert_int_equal(
			bpf_xdp_attach((int)loopback, kernel.program, XDP_FLAGS_SKB_MODE, NULL), 0);
		assert_int_equal(
			xdp_attach_check(x, ports[i].vrf, ports[i].mpls, loopback, &limits, &err),
			0);
		role_enter_host();
		assert_int_equal(xdp_local_set(x, ports[i].vrf, &own, true), 0);
		assert_int_equal(verdict(f.b, f.len), XDP_PASS);
		assert_int_equal(xdp_tunnels_set(x, &address, 1), 0);
		assert_int_equal(verdict(f.b, f.len), expected);
		assert_int_equal(xdp_local_set(x, ports[i].vrf, &own, true), 0);
		assert_int_equal(verdict(f.b, f.len), expected);
		f.b[37]++;
		assert_int_equal(verdict(f.b, f.len), XDP_PASS);
		f.b[37]--;
		assert_int_equal(xdp_tunnels_set(x, NULL, 0), 0);
		assert_int_equal(verdict(f.b, f.len), XDP_PASS);
		assert_int_equal(xdp_local_set(x, ports[i].vrf, &own, false), 0);
		role_enter_main();
		xdp_destroy(x);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transit_goes_to_the_worker),
		cmocka_unit_test(test_local_goes_to_the_kernel),
		cmocka_unit_test(test_multicast_and_broadcast),
		cmocka_unit_test(test_v6_transit_goes_to_the_worker),
		cmocka_unit_test(test_v6_local_goes_to_the_kernel),
		cmocka_unit_test(test_v6_link_local_and_multicast),
		cmocka_unit_test(test_v6_discovery),
		cmocka_unit_test(test_v6_short_frames),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_priority_tag),
		cmocka_unit_test(test_short_frames),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_classes_agree),
		cmocka_unit_test(test_policing),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_peers_at_equal_distances),
		cmocka_unit_test(test_fragment),
		cmocka_unit_test(test_tunnels_of_ports),
		cmocka_unit_test(test_without_a_socket),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: loading an XDP program needs root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
