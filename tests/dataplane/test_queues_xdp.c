/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers on AF_XDP ports in a private network namespace: a veth with two queues, a socket for
 * each, and a veth with one queue, which both workers send on. No packet is lost, no flow
 * reordered. Needs root. PACKETS: number of packets.
 */
#include "dataplane/port/port_inner.h"
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FLOWS 16
#define WINDOW 100 /* in flight; a ring of veth holds 256 */

/* As in test_port.c. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libbpf.so\nleak:libxdp.so\n";
}

static char directory[] = "/tmp/keel-test-queues-XXXXXX";
static struct lab_fib lab;
static uint16_t port_a, port_b;
static int in, out;
static uint32_t sent[FLOWS], seen[FLOWS];
static unsigned long sent_all, seen_all, reordered, packets;

static void
run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static int
packet_socket(const char *iface)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(iface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* A UDP packet of a flow, by source port, with the number of the packet in the flow. */
static void
send_one(unsigned flow)
{
	struct lab_frame f = {.len = 60};
	uint32_t number = sent[flow] + 1;

	port_mac(port_a, f.b);
	f.b[6] = 2;
	f.b[12] = 8;
	f.b[14] = 0x45;
	f.b[17] = 46;
	f.b[22] = 64;
	f.b[23] = 17;
	lab_set32(f.b + 26, IP(198, 51, 100, 1));
	lab_set32(f.b + 30, IP(10, 1, 2, 3));
	lab_fix_checksum(&f);
	f.b[34] = 0x40;
	f.b[35] = (uint8_t)flow;
	f.b[37] = 9;
	f.b[39] = 26;
	memcpy(f.b + 44, &number, sizeof(number));
	if (send(in, f.b, f.len, 0) != (ssize_t)f.len)
		return;
	sent[flow] = number;
	sent_all++;
}

static void
receive_all(void)
{
	uint8_t b[256];
	uint32_t number;

	while (recv(out, b, sizeof(b), 0) >= 60) {
		if (b[12] != 8 || b[13] != 0 || b[33] != 3 || b[34] != 0x40)
			continue;
		memcpy(&number, b + 44, sizeof(number));
		assert_true(b[35] < FLOWS);
		reordered += number <= seen[b[35]];
		seen[b[35]] = number;
		seen_all++;
	}
}

static bool
all_seen(void *ctx)
{
	receive_all();
	return seen_all == sent_all;
}

static bool
room(void *ctx)
{
	receive_all();
	return sent_all - seen_all < WINDOW;
}

static void
all_queues_are_needed(void **state)
{
	struct dataplane_error err = {""};
	uint16_t port;

	assert_int_equal(port_add(&(struct port_config){.name = "a1",
					  .device = "net_af_xdp0,iface=a1",
					  .vrf = LAB_VRF,
					  .queues = 1},
				 &port, &err),
		-EINVAL);
	assert_non_null(strstr(err.text, "ethtool -L a1"));
	assert_int_equal(port_count(), 0);
}

/* The number of queues is the fault, not the memory: at most 21 queues have buffers. */
static void
more_queues_than_buffers(void **state)
{
	struct dataplane_error err = {""};
	uint16_t port;

	assert_int_equal(port_add(&(struct port_config){.name = "c1",
					  .device = "net_af_xdp0,iface=c1",
					  .vrf = LAB_VRF},
				 &port, &err),
		-ENOMEM);
	assert_non_null(strstr(err.text, "64 receive queues"));
	assert_non_null(strstr(err.text, "ethtool -L c1"));
	assert_int_equal(port_count(), 0);
}

static void
a_socket_for_each_queue(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0xb0};
	struct next_hop_id hop;

	lab_fib_up(&lab);
	port_a = lab_port("a", "net_af_xdp1,iface=a1");
	port_b = lab_port("b", "net_af_xdp2,iface=b1");
	assert_int_equal(port_rx_queues(port_a), 2);
	assert_int_equal(port_tx_queues(port_a), 2);
	assert_int_equal(port_rx_queues(port_b), 1);
	assert_true(port_xdp_socket(port_a, 0) >= 0);
	assert_true(port_xdp_socket(port_a, 1) >= 0);
	assert_int_not_equal(port_xdp_socket(port_a, 0), port_xdp_socket(port_a, 1));
	assert_int_equal(port_xdp_socket(port_a, 2), -1);
	hop = lab_next_hop(&lab, IP(192, 0, 2, 9), port_b, mac, 1500);
	lab_route(&lab, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	lab_commit(&lab);
	lab_workers_up_count(&lab, 2);
}

static void
both_forward(void **state)
{
	struct port_counters a, b;

	in = packet_socket("a0");
	out = packet_socket("b0");
	while (sent_all < packets) {
		assert_true(lab_wait(room, NULL, 300));
		send_one((unsigned)(sent_all % FLOWS));
	}
	if (!lab_wait(all_seen, NULL, 300))
		print_message("sent %lu seen %lu\n", sent_all, seen_all);
	assert_int_equal(seen_all, packets);
	assert_int_equal(reordered, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_true(atomic_load_explicit(
				    &worker_stats(i)->forwarded, memory_order_relaxed) > 0);
	assert_int_equal(port_counters_get(port_a, &a), 0);
	assert_int_equal(port_counters_get(port_b, &b), 0);
	assert_int_equal(a.rx_packets, packets); /* of both queues */
	assert_int_equal(b.tx_packets, packets);
	close(in);
	close(out);
}

static void
stop_leaves_nothing(void **state)
{
	uint32_t id = 0;

	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	assert_int_equal(bpf_xdp_query_id((int)if_nametoindex("a1"), 0, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(rmdir(directory), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_queues_are_needed),
		cmocka_unit_test(more_queues_than_buffers),
		cmocka_unit_test(a_socket_for_each_queue),
		cmocka_unit_test(both_forward),
		cmocka_unit_test(stop_leaves_nothing),
	};
	const char *size = getenv("PACKETS");
	cpu_set_t cpus;

	packets = size != NULL ? strtoul(size, NULL, 10) : 4000;
	/* as the workers */
	(void)setpriority(PRIO_PROCESS, 0, -20);
	role_enter_main();
	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) < 2) {
		fprintf(stderr, "skipped: two workers need two CPUs\n");
		return 77;
	}
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr, "skipped: a network namespace needs root: %s\n", strerror(errno));
		return 77;
	}
	if (mkdtemp(directory) == NULL)
		return 1;
	run("ip link add a0 numtxqueues 2 numrxqueues 2 type veth peer name a1 numtxqueues 2 "
	    "numrxqueues 2");
	run("ip link add b0 type veth peer name b1");
	run("ip link add c0 numtxqueues 64 numrxqueues 64 type veth peer name c1 numtxqueues 64 "
	    "numrxqueues 64");
	run("for i in a b; do ip link set ${i}0 arp off promisc on up && ip link set ${i}1 up || "
	    "exit 1; done");
	lab_eal_up_workers(directory, 512, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
