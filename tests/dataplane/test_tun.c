/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets of the host: a real TUN in a private network namespace. Packets sent by the kernel leave
 * through the worker, after lookup, with unchanged TTL, byte for byte as expected from the socket.
 * The host thread is not an EAL thread. Needs root.
 */
#include "dataplane/process/tun.h"
#include "dataplane/process/host_path.h"
#include "lab.h"
#include "pcap.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/*
 * A worker returns buffers to the host thread through the pool's ring inside DPDK's library.
 * ThreadSanitizer does not see this ordering and reports the next use as a race.
 */
const char *__tsan_default_suppressions(void);
const char *
__tsan_default_suppressions(void)
{
	return "race:own_packet\n";
}

#define FLOOD 20000
#define DATAGRAMS 50

static char directory[] = "/tmp/keel-test-tun-XXXXXX";
static char out_path[64];
static struct lab_fib lab;
static struct tun *tun;
static const uint8_t far4[6] = {0x02, 0, 0, 0, 0, 4}, far6[6] = {0x02, 0, 0, 0, 0, 6};
static uint8_t out_mac[6];

static void
run(const char *command)
{
	int rc = system(command);

	if (rc != 0)
		fail_msg("%s: exit %d", command, rc);
}

static uint64_t
counter(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* ---- the device, without EAL ---- */

static void
test_create(void **state)
{
	struct tun *second;
	struct ifreq r = {.ifr_name = "keel0"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(tun_create("keel0", VRF_DEFAULT, 1400, &tun), 0);
	assert_int_equal(tun_ifindex(tun), if_nametoindex("keel0"));
	assert_int_equal(ioctl(fd, SIOCGIFMTU, &r), 0);
	assert_int_equal(r.ifr_mtu, 1400);
	assert_int_equal(tun_create("keel0", VRF_DEFAULT, 1400, &second), -EBUSY);
	assert_int_equal(tun_create("keel%d", VRF_DEFAULT, 1400, &second), -EINVAL);
	assert_int_equal(tun_create("a-name-of-16-len", VRF_DEFAULT, 1400, &second), -EINVAL);
	role_enter_host();
	assert_false(tun_drain(tun)); /* empty, and does not wait */
	/* The MTU is limited to the size of a packet buffer. */
	assert_int_equal(tun_create("keel1", VRF_DEFAULT, 9000, &second), 0);
	memcpy(r.ifr_name, "keel1", 6);
	assert_int_equal(ioctl(fd, SIOCGIFMTU, &r), 0);
	assert_int_equal(r.ifr_mtu, WORKER_INJECT_MAX);
	tun_destroy(second);
	assert_int_equal(if_nametoindex("keel1"), 0);
	close(fd);
}

/* ---- the host thread ---- */

static _Atomic bool host_stop;

static void *
host_main(void *arg)
{
	struct pollfd p = {.fd = tun_fd(tun), .events = POLLIN};

	(void)arg;
	role_enter_host();
	tun_show(tun);
	while (!atomic_load(&host_stop)) {
		if (poll(&p, 1, 10) > 0)
			while (tun_drain(tun))
				;
		(void)host_path_turn();
	}
	tun_hide(tun);
	return NULL;
}

static void
set_routes(void)
{
	struct ip_addr v6 = lab_addr("2001:db8:a::1");
	struct next_hop_id a = lab_next_hop(&lab, IP(192, 0, 2, 1), 1, far4, 1500);
	struct next_hop_id b = lab_next_hop_at(&lab, &v6, 1, far6, 1500);

	lab_route_text(&lab, "10.0.0.0/8", PATH_LIST_FORWARD, PORT_NONE, &a, 1);
	lab_route_text(&lab, "2001:db8:7::/48", PATH_LIST_FORWARD, PORT_NONE, &b, 1);
	/* with a smaller MTU, by a labelled path, and without a way */
	a = lab_next_hop(&lab, IP(192, 0, 2, 2), 1, far4, 700);
	lab_route_text(&lab, "10.7.0.0/16", PATH_LIST_FORWARD, PORT_NONE, &a, 1);
	a = lab_next_hop(&lab, IP(192, 0, 2, 3), 1, far4, 1400);
	lab_route_label(&lab, "10.8.0.0/16", a, 100);
	v6 = lab_addr("2001:db8:a::2");
	b = lab_next_hop_at(&lab, &v6, 1, far6, 1300);
	lab_route_label(&lab, "2001:db8:8::/48", b, 100);
	lab_commit(&lab);
}

static int
udp_socket(int family, const char *from, const char *to, int ttl)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(family, SOCK_DGRAM, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	if (family == AF_INET) {
		assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
		assert_int_equal(inet_pton(AF_INET, from, &a4.sin_addr), 1);
		assert_int_equal(bind(fd, (struct sockaddr *)&a4, sizeof(a4)), 0);
		assert_int_equal(inet_pton(AF_INET, to, &a4.sin_addr), 1);
		assert_int_equal(connect(fd, (struct sockaddr *)&a4, sizeof(a4)), 0);
	} else {
		assert_int_equal(
			setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof(ttl)), 0);
		assert_int_equal(inet_pton(AF_INET6, from, &a.sin6_addr), 1);
		assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(inet_pton(AF_INET6, to, &a.sin6_addr), 1);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	}
	return fd;
}

static bool
sent(void *ctx)
{
	return counter(&worker_stats(0)->originated) >= *(uint64_t *)ctx;
}

/* Checks a packet of the kernel: unchanged TTL, checksums, addresses, payload. */
static void
check_v4(const uint8_t *f, unsigned len, unsigned number)
{
	static const uint8_t addresses[] = {203, 0, 113, 1, 10, 1, 2, 3};

	assert_int_equal(len, 14 + 28 + 4);
	assert_memory_equal(f, far4, 6);
	assert_memory_equal(f + 6, out_mac, 6);
	assert_memory_equal(f + 12, "\x08\x00", 2);
	assert_int_equal(f[22], 1); /* a TTL that forwarding would drop */
	assert_int_equal(f[24] << 8 | f[25], lab_checksum(f + 14, 20));
	assert_memory_equal(f + 26, addresses, 8);
	assert_memory_equal(f + 42, &number, 4);
}

static void
check_v6(const uint8_t *f, unsigned len, unsigned number)
{
	struct ip_addr from = lab_addr("2001:db8:f::1"), to = lab_addr("2001:db8:7::3");
	uint32_t sum = len - 54 + 17;

	assert_int_equal(len, 14 + 48 + 4);
	assert_memory_equal(f, far6, 6);
	assert_memory_equal(f + 6, out_mac, 6);
	assert_memory_equal(f + 12, "\x86\xdd", 2);
	assert_int_equal(f[21], 1);
	assert_memory_equal(f + 22, from.b, 16);
	assert_memory_equal(f + 38, to.b, 16);
	assert_memory_equal(f + 62, &number, 4);
	/* UDP's checksum is mandatory, and nothing after the TUN completes a partial checksum. */
	for (unsigned i = 22; i < len; i += 2)
		sum += (uint32_t)(f[i] << 8 | f[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

static void
compare_output(void)
{
	unsigned v4 = 0, v6 = 0;
	uint8_t got[2048];
	int len;
	FILE *f = pcap_open(out_path);

	assert_non_null(f);
	while ((len = pcap_next(f, got, sizeof(got))) > 0 && v4 + v6 < 2 * DATAGRAMS) {
		if (got[12] == 0x08)
			check_v4(got, (unsigned)len, v4++);
		else
			check_v6(got, (unsigned)len, v6++);
	}
	fclose(f);
	assert_int_equal(v4, DATAGRAMS);
	assert_int_equal(v6, DATAGRAMS);
}

static void
refusals(void)
{
	static const uint8_t bad[40] = {0x50};
	static uint8_t good[3000] = {0x45};

	role_enter_host();
	assert_int_equal(worker_inject(VRF_DEFAULT, bad, 40), -EINVAL);
	assert_int_equal(worker_inject(VRF_DEFAULT, good, 19), -EINVAL);
	assert_int_equal(worker_inject(VRF_DEFAULT, "\x60", 39), -EINVAL);
	assert_int_equal(worker_inject(VRF_DEFAULT, good, WORKER_INJECT_MAX + 1), -EINVAL);
	assert_int_equal(worker_inject((struct vrf_id){FIB_VRF_MAX}, good, 20), -EINVAL);
}

/* Sends at full speed: each packet is sent, or refused and counted. */
static void
flood(uint64_t before)
{
	const struct worker_stats *s = worker_stats(0);
	struct lab_frame f;
	uint64_t seed = 1, ok = 0, full = 0, want, drops = lab_drops(DROP_inject_full);

	role_enter_host();
	lab_udp(&f, far4, IP(203, 0, 113, 1), IP(10, 1, 2, 3), 64, 0, 100, &seed);
	for (unsigned i = 0; i < FLOOD; i++) {
		int rc = worker_inject(VRF_DEFAULT, f.b + 14, f.len - 14);

		assert_true(rc == 0 || rc == -ENOBUFS);
		ok += rc == 0;
		full += rc != 0;
	}
	want = before + ok;
	assert_true(lab_wait(sent, &want, 300));
	assert_int_equal(counter(&s->originated), want);
	assert_int_equal(lab_drops(DROP_inject_full) - drops, full);
	assert_true(ok > 0);
	print_message("flood: %lu sent, %lu refused\n", (unsigned long)ok, (unsigned long)full);
}

/* Sends datagrams of `len` bytes, which may not be fragmented, until the kernel knows the MTU of the path. */
static void
learn_mtu(int family, const char *from, const char *to, size_t len, int mtu)
{
	static const uint8_t data[1400];
	int fd = udp_socket(family, from, to, 64), on = IP_PMTUDISC_DO, got = 0;
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	uint64_t end = lab_now_ns() + 60 * UINT64_C(1000000000);
	socklen_t size = sizeof(got);

	assert_int_equal(
		setsockopt(fd, level, family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &on,
			sizeof(on)),
		0);
	while (got != mtu && lab_now_ns() < end) {
		(void)send(fd, data, len, 0);
		usleep(1000);
		assert_int_equal(
			getsockopt(fd, level, family == AF_INET ? IP_MTU : IPV6_MTU, &got, &size),
			0);
	}
	assert_int_equal(got, mtu);
	assert_int_equal(send(fd, data, len, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	close(fd);
}

/* The kernel learns the way's MTU, less the labels, and that there is no way. */
static void
returned_errors(void)
{
	struct pollfd p = {.events = POLLIN};
	int on = 1;

	learn_mtu(AF_INET, "203.0.113.1", "10.7.1.1", 1300, 700);
	learn_mtu(AF_INET, "203.0.113.1", "10.8.1.1", 1372, 1396);
	learn_mtu(AF_INET6, "2001:db8:f::1", "2001:db8:8::1", 1300, 1296);
	p.fd = udp_socket(AF_INET, "203.0.113.1", "11.0.0.1", 64);
	assert_int_equal(setsockopt(p.fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	assert_int_equal(send(p.fd, "x", 1, 0), 1);
	assert_int_equal(poll(&p, 1, 60000), 1); /* POLLERR */
	assert_int_equal(send(p.fd, "x", 1, 0), -1);
	assert_int_equal(errno, ENETUNREACH);
	close(p.fd);
}

static void
test_way_out(void **state)
{
	uint64_t want = 2 * DATAGRAMS;
	pthread_t host;
	int v4, v6;

	(void)state;
	role_enter_host();
	assert_int_equal(worker_inject(VRF_DEFAULT, "\x45", 20), -ENOBUFS); /* no worker yet */
	lab_workers_up(&lab);
	run("ip link set lo up && ip link set keel0 up && ip addr add 203.0.113.1/32 dev keel0 && "
	    "ip -6 addr add 2001:db8:f::1/128 dev keel0 nodad && ip route add default dev keel0 && "
	    "ip -6 route add default dev keel0");
	assert_int_equal(pthread_create(&host, NULL, host_main, NULL), 0);
	v4 = udp_socket(AF_INET, "203.0.113.1", "10.1.2.3", 1);
	v6 = udp_socket(AF_INET6, "2001:db8:f::1", "2001:db8:7::3", 1);
	for (unsigned i = 0; i < DATAGRAMS; i++) {
		assert_int_equal(send(v4, &i, sizeof(i), 0), sizeof(i));
		assert_int_equal(send(v6, &i, sizeof(i), 0), sizeof(i));
	}
	assert_true(lab_wait(sent, &want, 300));
	assert_int_equal(counter(&worker_stats(0)->forwarded), 0);
	returned_errors();
	atomic_store(&host_stop, true);
	pthread_join(host, NULL);
	close(v4);
	close(v6);
	refusals();
	flood(counter(&worker_stats(0)->originated));
	workers_stop();
	assert_int_equal(worker_inject(VRF_DEFAULT, "\x45", 20), -ENOBUFS);
	dataplane_fini();
	lab_fib_down(&lab);
	compare_output();
	unlink(out_path);
	tun_destroy(tun);
	assert_int_equal(if_nametoindex("keel0"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_way_out),
	};
	char device[128];
	int failed;

	role_enter_main();
	if (geteuid() != 0 || access("/dev/net/tun", R_OK) != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr,
			"skipped: a TUN in a network namespace needs root and /dev/net/tun: %s\n",
			strerror(errno));
		return 77;
	}
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(out_path, sizeof(out_path), "%s/out.pcap", directory);
	snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", out_path);
	lab_eal_up(directory, 64);
	lab_port("null", "net_null0,no-rx=1");
	port_mac(lab_port("out", device), out_mac);
	lab_fib_up(&lab);
	set_routes();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
