/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_XDP ports on veth in a network namespace of this process alone (gone with it, however it ends): bring-up and what it refuses, the
 * worker between two of them, what reaches the kernel. Needs root.
 *
 * KEEL_VETH_SECONDS (1) and KEEL_VETH_PPS (10000): how long and how fast the paced run is.
 */
#include "dataplane/xdp.h"
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* The driver of DPDK 22.11 closes neither its BPF object nor, with libxdp 1.3, its umem. Ours is tested without them (xdp, worker). */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libbpf.so\nleak:libxdp.so\n";
}

static char directory[] = "/tmp/keel-test-port-XXXXXX";
static struct lab_fib lab;
static uint16_t port_a, port_b;

static void
run(const char *command)
{
	int rc = system(command);

	if (rc != 0)
		fail_msg("%s: exit %d", command, rc);
}

static void
make_links(void)
{
	run("ip link set lo up");
	for (const char *p = "abc"; *p != '\0'; p++) {
		char command[200];

		snprintf(command, sizeof(command),
			"ip link add %c0 type veth peer name %c1 && ip link set %c0 arp off up && "
			"ip link set %c1 up",
			*p, *p, *p, *p);
		run(command);
	}
}

/* A packet socket on one interface; what it sends is not seen by it. */
static int
packet_socket(const char *iface)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(iface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), size = 64 << 20, one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static uint32_t
attached_id(const char *iface)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)if_nametoindex(iface), 0, &id), 0);
	return id;
}

/* ---- what bring-up refuses; no EAL needed for the first three ---- */

static int
foreign_program(void)
{
	static const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", code, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static void
test_foreign_program_is_refused(void **state)
{
	int index = (int)if_nametoindex("a1"), fd = foreign_program();
	struct dataplane_error err = {""};

	(void)state;
	assert_int_equal(bpf_xdp_attach(index, fd, 0, NULL), 0);
	assert_int_equal(xdp_prepare((unsigned)index, &err), -EBUSY);
	assert_non_null(strstr(err.text, "foreign"));
	assert_non_null(strstr(err.text, "a1"));
	assert_true(attached_id("a1") != 0);
	assert_int_equal(bpf_xdp_detach(index, 0, NULL), 0);
	close(fd);
}

static void
test_own_leftover_is_removed(void **state)
{
	int index = (int)if_nametoindex("a1");
	struct dataplane_error err = {""};
	struct bpf_object *o;
	char path[100];

	(void)state;
	snprintf(path, sizeof(path), "%s/left.o", directory);
	assert_int_equal(xdp_write_object(path), 0);
	o = bpf_object__open_file(path, NULL);
	assert_int_equal(bpf_object__load(o), 0);
	assert_int_equal(
		bpf_xdp_attach(index, bpf_program__fd(bpf_object__next_program(o, NULL)), 0, NULL),
		0);
	bpf_object__close(o);
	unlink(path);
	assert_true(attached_id("a1") != 0);
	assert_int_equal(xdp_prepare((unsigned)index, &err), 0);
	assert_int_equal(attached_id("a1"), 0);
	xdp_forget((unsigned)index);
}

/* Another process has the interface for a port: its program is no leftover. */
static void
test_running_keeld_is_respected(void **state)
{
	unsigned index = if_nametoindex("a1");
	struct dataplane_error err = {""};
	int ready[2], done[2], status;
	char byte = 0;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(done), 0);
	child = fork();
	if (child == 0) {
		byte = (char)(xdp_prepare(index, &err) == 0);
		_exit(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	assert_int_equal(xdp_prepare(index, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another keeld"));
	assert_int_equal(write(done[1], &byte, 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* It ended without a word, as by a crash. */
	assert_int_equal(xdp_prepare(index, &err), 0);
	xdp_forget(index);
}

static void
refuse(const char *device, int rc, const char *text)
{
	struct dataplane_error err = {""};
	uint16_t port;

	assert_int_equal(
		port_add(&(struct port_config){.name = "east", .device = device, .mtu = 1500}, 1,
			&port, &err),
		rc);
	if (strstr(err.text, text) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", err.text, text);
	assert_non_null(strstr(err.text, "east"));
	assert_int_equal(port_count(), 0);
	assert_int_equal(attached_id("a1"), 0);
	assert_int_equal(attached_id("c1"), 0);
}

static void
test_bad_devices_are_refused(void **state)
{
	(void)state;
	lab_eal_up(directory, 64);
	refuse("net_af_xdp7,iface=none9", -ENODEV, "none9");
	refuse("net_af_xdp7", -EINVAL, "iface");
	refuse("net_af_xdp7,iface=a1,queue_count=2", -ENOTSUP, "queue_count");
	refuse("net_nonsense0", -EINVAL, "net_nonsense0");
	/* Without it the driver would sleep in poll(). Not on a1: the kernel frees a queue some time after the socket. */
	refuse("net_af_xdp8,iface=c1,busy_budget=0", -EOPNOTSUPP, "SO_PREFER_BUSY_POLL");
}

/* ---- forwarding ---- */

static void
test_ports_come_up(void **state)
{
	struct dataplane_error err = {""};
	uint16_t port;

	(void)state;
	port_a = lab_port("east", "net_af_xdp0,iface=a1");
	port_b = lab_port("b1", "net_af_xdp1,iface=b1");
	assert_int_equal(port_count(), 2);
	assert_int_equal(port_ifindex(port_a), if_nametoindex("a1"));
	assert_true(port_is_xdp(port_b));
	assert_string_equal(port_name(port_a), "east");
	assert_true(attached_id("a1") != 0 && attached_id("b1") != 0);
	assert_int_equal(
		port_add(&(struct port_config){.name = "twice", .device = "net_af_xdp2,iface=a1"},
			1, &port, &err),
		-EBUSY);
	/* The refused one took nothing away. */
	assert_int_equal(port_count(), 2);
	assert_true(attached_id("a1") != 0);
}

static void
start_forwarding(void)
{
	static const uint8_t far[6] = {0x02, 0, 0, 0, 0, 0xbb};
	struct next_hop_id hop;

	lab_fib_up(&lab);
	hop = lab_next_hop(&lab, IP(192, 0, 2, 9), port_b, far, 1500);
	lab_route(&lab, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	lab_commit(&lab);
	lab_workers_up(&lab);
}

struct flow {
	int in, out;
	struct lab_frame frame;
	uint64_t sent, received, wrong, reordered;
	uint32_t next;
};

static void
flow_send(struct flow *f)
{
	lab_set32(f->frame.b + 42, (uint32_t)f->sent);
	while (send(f->in, f->frame.b, f->frame.len, 0) < 0)
		if (errno != ENOBUFS && errno != EAGAIN)
			fail_msg("send: %s", strerror(errno));
	f->sent++;
}

/* Forwarded frames differ in the Ethernet header, TTL and checksum; the payload is numbered. */
static void
flow_receive(struct flow *f)
{
	uint8_t got[2048];
	ssize_t len;

	while ((len = recv(f->out, got, sizeof(got), 0)) > 0) {
		struct lab_frame want = f->frame;
		uint32_t number;

		if (len < 46 || got[12] != 0x08 || got[13] != 0 || got[0] != 0x02)
			continue; /* the host's own IPv6 chatter */
		memcpy(want.b, "\x02\x00\x00\x00\x00\xbb", 6);
		port_mac(port_b, want.b + 6);
		want.b[22]--;
		lab_fix_checksum(&want);
		memcpy(want.b + 42, got + 42, 4);
		memcpy(&number, got + 42, 4);
		number = ntohl(number);
		f->wrong += (unsigned)len != want.len || memcmp(got, want.b, want.len) != 0;
		f->reordered += number < f->next;
		f->next = number + 1;
		f->received++;
	}
}

static bool
flow_whole(void *ctx)
{
	struct flow *f = ctx;

	flow_receive(f);
	return f->received == f->sent;
}

static unsigned
setting(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void
print_where(const struct flow *f)
{
	struct port_counters a, b;
	struct hist_summary gap;

	assert_int_equal(port_counters_get(port_a, &a), 0);
	assert_int_equal(port_counters_get(port_b, &b), 0);
	stats_loop_gap(0, &gap);
	print_message("sent %lu received %lu wrong %lu reordered %lu\n", (unsigned long)f->sent,
		(unsigned long)f->received, (unsigned long)f->wrong, (unsigned long)f->reordered);
	print_message("port a: rx %lu missed %lu xdp dropped %lu ring-full %lu fill-empty %lu; "
		      "port b: tx %lu dropped %lu\n",
		(unsigned long)a.rx_packets, (unsigned long)a.rx_missed,
		(unsigned long)a.xdp_rx_dropped, (unsigned long)a.xdp_rx_ring_full,
		(unsigned long)a.xdp_fill_empty, (unsigned long)b.tx_packets,
		(unsigned long)b.tx_dropped);
	print_message("loop gap ns: p50 %lu p99 %lu p999 %lu max %lu\n", (unsigned long)gap.p50,
		(unsigned long)gap.p99, (unsigned long)gap.p999, (unsigned long)gap.max);
}

/* Commits go on meanwhile: generations flip under the worker. */
static void
test_paced_traffic_arrives(void **state)
{
	unsigned seconds = setting("KEEL_VETH_SECONDS", 1), pps = setting("KEEL_VETH_PPS", 10000);
	struct flow f = {.in = packet_socket("a0"), .out = packet_socket("b0")};
	uint64_t seed = 7, due, step = UINT64_C(1000000000) / pps;
	struct next_hop_id hop;
	uint8_t mac[6];

	(void)state;
	start_forwarding();
	port_mac(port_a, mac);
	lab_udp(&f.frame, mac, IP(198, 51, 100, 1), IP(10, 1, 2, 3), 64, 0, 100, &seed);
	hop = lab_next_hop(&lab, IP(192, 0, 2, 9), port_b, NULL, 0);
	due = lab_now_ns();
	stats_reset_mark();
	while (f.sent < (uint64_t)seconds * pps) {
		uint64_t now = lab_now_ns();

		flow_receive(&f);
		if (now < due)
			continue;
		/* A veth ring holds 256 packets: what a busy machine kept us from sending is not sent at once. */
		if (now - due > 32 * step)
			due = now - 32 * step;
		due += step;
		flow_send(&f);
		if (f.sent % 100 == 0) {
			lab_route(&lab, IP(20, (uint8_t)(f.sent / 100), 0, 0), 16,
				PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
			fib_commit(lab.fib, lab_now_ns());
		}
	}
	lab_wait(flow_whole, &f, 2);
	print_where(&f);
	assert_int_equal(f.wrong, 0);
	assert_int_equal(f.reordered, 0);
	assert_int_equal(f.received, f.sent);
	close(f.in);
	close(f.out);
}

/* Counts IPv4 frames to `destination` that the kernel is passed on a1. */
struct tap {
	int fd;
	uint32_t destination;
	unsigned seen, arp;
};

static void
tap_read(struct tap *t)
{
	uint8_t got[2048], want[4];
	ssize_t len;

	lab_set32(want, t->destination);
	while ((len = recv(t->fd, got, sizeof(got), 0)) > 0) {
		t->arp += got[12] == 0x08 && got[13] == 0x06;
		t->seen += len >= 34 && got[12] == 0x08 && got[13] == 0 &&
			   memcmp(got + 30, want, 4) == 0;
	}
}

static bool
tap_has_arp(void *ctx)
{
	tap_read(ctx);
	return ((struct tap *)ctx)->arp > 0;
}

static bool
tap_has_seen(void *ctx)
{
	tap_read(ctx);
	return ((struct tap *)ctx)->seen > 0;
}

static void
test_what_is_ours_reaches_the_kernel(void **state)
{
	struct tap t = {.fd = packet_socket("a1"), .destination = IP(10, 1, 2, 3)};
	struct flow f = {.in = packet_socket("a0"), .out = packet_socket("b0")};
	struct ip_addr address = addr_from_v4(t.destination);
	struct lab_frame arp = {.len = 42};
	uint64_t seed = 7;
	uint8_t mac[6];

	(void)state;
	role_enter_host();
	port_mac(port_a, mac);
	lab_udp(&f.frame, mac, IP(198, 51, 100, 1), t.destination, 64, 0, 100, &seed);
	memset(arp.b, 0xff, 6);
	arp.b[12] = 0x08;
	arp.b[13] = 0x06;

	/* Not ours: forwarded, and the kernel sees none of it. */
	flow_send(&f);
	assert_true(lab_wait(flow_whole, &f, 5));
	assert_int_equal(send(f.in, arp.b, arp.len, 0), arp.len);
	assert_true(lab_wait(tap_has_arp, &t, 5));
	assert_int_equal(t.seen, 0);

	/* Ours, set by way of the other port: an address of any port is ours on every port. */
	assert_int_equal(xdp_local_set(port_b, &address, true), 0);
	flow_send(&f);
	assert_true(lab_wait(tap_has_seen, &t, 5));
	flow_receive(&f);
	assert_int_equal(f.received, 1);

	assert_int_equal(xdp_local_set(port_b, &address, false), 0);
	assert_int_equal(xdp_local_set(port_b, &address, false), 0); /* again: no error */
	f.sent = 1;
	flow_send(&f);
	assert_true(lab_wait(flow_whole, &f, 5));
	close(t.fd);
	close(f.in);
	close(f.out);
}

static void
test_stop_leaves_nothing(void **state)
{
	(void)state;
	workers_stop();
	assert_int_equal(workers_count(), 0);
	dataplane_fini();
	lab_fib_down(&lab);
	assert_int_equal(attached_id("a1"), 0);
	assert_int_equal(attached_id("b1"), 0);
	assert_int_equal(rmdir(directory), 0); /* the object is gone too */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_program_is_refused),
		cmocka_unit_test(test_own_leftover_is_removed),
		cmocka_unit_test(test_running_keeld_is_respected),
		cmocka_unit_test(test_bad_devices_are_refused),
		cmocka_unit_test(test_ports_come_up),
		cmocka_unit_test(test_paced_traffic_arrives),
		cmocka_unit_test(test_what_is_ours_reaches_the_kernel),
		cmocka_unit_test(test_stop_leaves_nothing),
	};

	role_enter_main();
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr, "skipped: a network namespace needs root: %s\n", strerror(errno));
		return 77;
	}
	if (mkdtemp(directory) == NULL)
		return 1;
	make_links();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
