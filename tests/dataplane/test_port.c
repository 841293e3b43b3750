/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_XDP ports on veth in a private network namespace, which disappears with the process: start of
 * ports and its failures, forwarding between two ports, packets passed to the kernel. Needs root.
 *
 * KEEL_VETH_SECONDS (1) and KEEL_VETH_PPS (10000): duration and rate of the paced run.
 * KEEL_VETH_WINDOW (100): limit for packets in flight, below the size of the smallest ring in
 * between, so a test kept off the CPU loses no packets.
 */
#include "dataplane/process/host_path.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/port/port_pull.h"
#include "dataplane/port/xdp.h"
#include "lab.h"
#include "tests/lpm/size.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <rte_mempool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TX_RING 2048u /* entries: RING_SIZE of the data plane */

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/*
 * DPDK 22.11's driver leaks its BPF object and, with libxdp 1.3, its umem. The tests xdp and
 * worker check for leaks of Keel without the driver.
 */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libbpf.so\nleak:libxdp.so\n";
}

static char directory[] = "/tmp/keel-test-port-XXXXXX";
static struct lab_fib lab;
static uint16_t port_a, port_b, port_tap;
static struct xdp *reserved; /* for the tests without EAL */

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

/* A packet socket on one interface; does not receive its own frames. */
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

/* ---- failures of port start; the first three need no EAL ---- */

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
	assert_int_equal(xdp_create(&reserved), 0);
	assert_int_equal(bpf_xdp_attach(index, fd, 0, NULL), 0);
	assert_int_equal(xdp_reserve(reserved, (unsigned)index, &err), -EBUSY);
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
	assert_int_equal(xdp_reserve(reserved, (unsigned)index, &err), 0);
	assert_int_equal(attached_id("a1"), 0);
	xdp_release(reserved, (unsigned)index);
}

/* Another process has the interface as a port: its program is not a leftover. */
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
		byte = (char)(xdp_reserve(reserved, index, &err) == 0);
		_exit(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	assert_int_equal(xdp_reserve(reserved, index, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another keeld"));
	assert_int_equal(write(done[1], &byte, 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* The process ended without cleanup, as in a crash. */
	assert_int_equal(xdp_reserve(reserved, index, &err), 0);
	xdp_release(reserved, index);
}

static void
refuse(const char *device, int rc, const char *text)
{
	struct dataplane_error err = {""};
	uint16_t port;

	assert_int_equal(
		port_add(&(struct port_config){.name = "east", .device = device, .mtu = 1500},
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
test_pci_addresses(void **state)
{
	static const char *const pci[] = {"0000:01:00.0", "01:00.0", "pci:0000:01:00.0",
		"0000:01:00.0,rx_burst=1", "10a0:3b:1f.7", "pci:3b:00.1,a=b"};
	static const char *const others[] = {"net_tap0,iface=far", "net_af_xdp0,iface=01:00.0",
		"0000:01:00", "0000:01:00.0.1", "01:00.0x", "", "pci:", "net_memif0,id=1"};

	(void)state;
	for (unsigned i = 0; i < sizeof(pci) / sizeof(pci[0]); i++)
		assert_true(device_is_pci(pci[i]));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(device_is_pci(others[i]));
		assert_false(device_is_ready(others[i]));
	}
	assert_false(device_is_ready("ffff:ff:1f.7")); /* no such device */
}

/* A kernel that refuses the program, here for lack of rights: the reason is told, and no buffer taken. */
static void
refused_program(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[2], less[2];

	assert_int_equal(syscall(SYS_capget, &header, all), 0);
	memcpy(less, all, sizeof(less));
	less[0].effective &= ~(1u << CAP_SYS_ADMIN);
	less[1].effective &= ~(1u << (CAP_BPF - 32));
	assert_int_equal(syscall(SYS_capset, &header, less), 0);
	refuse("net_af_xdp7,iface=c1", -EPERM, "the kernel refuses the XDP program");
	assert_int_equal(syscall(SYS_capset, &header, all), 0);
	assert_null(rte_mempool_lookup("keel_soft"));
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
	refused_program();
	/* The kernel refuses to attach the program: what the driver has taken comes back. */
	assert_int_equal(system("ip link set c0 mtu 9000"), 0);
	refuse("net_af_xdp7,iface=c1", -EBUSY, "the driver refused the queues");
	assert_null(rte_mempool_lookup("keel_soft"));
	assert_int_equal(system("ip link set c0 mtu 1500"), 0);
	/*
	 * Without busy polling the driver would sleep in poll(). Not on a1: the kernel frees a
	 * queue some time after its socket.
	 */
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
	assert_int_equal(port_frame_most(port_b), 2048); /* of the driver's buffers: 2,304 */
	assert_string_equal(port_name(port_a), "east");
	assert_true(attached_id("a1") != 0 && attached_id("b1") != 0);
	assert_int_equal(
		port_add(&(struct port_config){.name = "twice", .device = "net_af_xdp2,iface=a1"},
			&port, &err),
		-EBUSY);
	/* The refused port did not affect the others. */
	assert_int_equal(port_count(), 2);
	assert_true(attached_id("a1") != 0);
	if (port_add(&(struct port_config){.name = "tap9",
			     .device = "net_null0,no-rx=1",
			     .vrf = LAB_VRF,
			     .host_path = true},
		    &port_tap, &err) != 0)
		fail_msg("port_add tap9: %s", err.text);
}

static void
start_forwarding(void)
{
	static const uint8_t far[6] = {0x02, 0, 0, 0, 0, 0xbb},
			     sender[6] = {0x02, 0, 0, 0, 0, 0x99};
	struct ip_addr lost_addr = lab_addr("2001:db8:2::4");
	struct next_hop_id hop, back, lost;

	lab_fib_up(&lab);
	hop = lab_next_hop(&lab, IP(192, 0, 2, 9), port_b, far, 1500);
	back = lab_next_hop(&lab, IP(198, 51, 100, 1), port_a, sender, 1500);
	lost = lab_next_hop_at(&lab, &lost_addr, port_b, NULL, 0);
	lab_route(&lab, IP(10, 0, 0, 0), 8, PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	lab_route_text(&lab, "2001:db8:10::/48", PATH_LIST_FORWARD, PORT_NONE, &hop, 1);
	lab_route_text(&lab, "198.51.100.0/24", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "2001:db8:9::/48", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "2001:db8:3::/48", PATH_LIST_FORWARD, PORT_NONE, &lost, 1);
	lab_route_text(&lab, "172.16.0.0/16", PATH_LIST_GLEAN, port_b, NULL, 0);
	lab_commit(&lab);
	lab_workers_up(&lab);
}

struct flow {
	int in, out;
	struct lab_frame frame; /* without IPv4 options; payload of at least 4 bytes */
	uint64_t sent, received, wrong, reordered;
	uint32_t next;
};

static bool
flow_is_v6(const struct flow *f)
{
	return f->frame.b[12] == 0x86;
}

static unsigned
flow_number_at(const struct flow *f)
{
	return flow_is_v6(f) ? 62 : 42;
}

static void
flow_send(struct flow *f)
{
	lab_set32(f->frame.b + flow_number_at(f), (uint32_t)f->sent);
	while (send(f->in, f->frame.b, f->frame.len, 0) < 0)
		if (errno != ENOBUFS && errno != EAGAIN)
			fail_msg("send: %s", strerror(errno));
	f->sent++;
}

/* Forwarded frames differ in Ethernet header, TTL and checksum; the payload is numbered. */
static void
flow_receive(struct flow *f)
{
	uint8_t got[2048];
	ssize_t len;

	while ((len = recv(f->out, got, sizeof(got), 0)) > 0) {
		struct lab_frame want = f->frame;
		unsigned at = flow_number_at(f);
		uint32_t number;

		if ((unsigned)len < at + 4 || memcmp(got + 12, want.b + 12, 2) != 0 ||
			memcmp(got, "\x02\x00\x00\x00\x00\xbb", 6) != 0)
			continue; /* other traffic of the host */
		memcpy(want.b, "\x02\x00\x00\x00\x00\xbb", 6);
		port_mac(port_b, want.b + 6);
		want.b[flow_is_v6(f) ? 21 : 22]--;
		if (!flow_is_v6(f))
			lab_fix_checksum(&want);
		memcpy(want.b + at, got + at, 4);
		memcpy(&number, got + at, 4);
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

static void
make_frame(struct lab_frame *f, const char *to, uint8_t ttl)
{
	struct ip_addr from = lab_addr("2001:db8:9::1"), dst = lab_addr(to);
	uint64_t seed = 7;
	uint8_t mac[6];

	port_mac(port_a, mac);
	if (dst.afi == AFI_IPV6)
		lab_udp6(f, mac, from.b, dst.b, ttl, 100, &seed);
	else
		lab_udp(f, mac, IP(198, 51, 100, 1), addr_v4(&dst), ttl, 0, 100, &seed);
}

/* Commits run meanwhile, so the worker changes generations. */
static void
paced_traffic_arrives(const char *to)
{
	unsigned seconds = (unsigned)test_setting("KEEL_VETH_SECONDS", 1),
		 pps = (unsigned)test_setting("KEEL_VETH_PPS", 10000);
	unsigned window = (unsigned)test_setting("KEEL_VETH_WINDOW", 100);
	uint64_t deadline = tick_deadline(seconds + 60);
	struct flow f = {.in = packet_socket("a0"), .out = packet_socket("b0")};
	uint64_t due, step = UINT64_C(1000000000) / pps;
	struct next_hop_id hop;

	role_enter_fib();
	make_frame(&f.frame, to, 64);
	hop = lab_next_hop(&lab, IP(192, 0, 2, 9), port_b, NULL, 0);
	due = lab_now_ns();
	stats_reset_mark();
	while (f.sent < (uint64_t)seconds * pps) {
		uint64_t now = lab_now_ns();

		flow_receive(&f);
		if (now < due) {
			/*
			 * The pace. Sleeping, because a busy machine runs a spinning process last.
			 */
			tick_until(due + 8 * step);
			continue;
		}
		if (f.sent - f.received >= window) {
			if (!tick(deadline))
				break; /* the packet is lost */
			continue;
		}
		/* A veth ring holds 256 packets: a backlog is not sent at once. */
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
	lab_wait(flow_whole, &f, 10);
	print_where(&f);
	assert_int_equal(f.wrong, 0);
	assert_int_equal(f.reordered, 0);
	assert_int_equal(f.received, f.sent);
	close(f.in);
	close(f.out);
}

static void
test_paced_traffic_arrives(void **state)
{
	(void)state;
	start_forwarding();
	paced_traffic_arrives("10.1.2.3");
	paced_traffic_arrives("2001:db8:10::3");
}

/* Counts frames to `destination` that reach the kernel on a1. */
struct tap {
	int fd;
	struct ip_addr destination;
	unsigned seen, arp;
};

static void
tap_read(struct tap *t)
{
	bool v6 = t->destination.afi == AFI_IPV6;
	uint8_t got[2048];
	ssize_t len;

	while ((len = recv(t->fd, got, sizeof(got), 0)) > 0) {
		t->arp += got[12] == 0x08 && got[13] == 0x06;
		t->seen += len >= (v6 ? 54 : 34) &&
			   memcmp(got + 12, v6 ? "\x86\xdd" : "\x08\x00", 2) == 0 &&
			   memcmp(got + (v6 ? 38 : 30), t->destination.b, v6 ? 16 : 4) == 0;
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
ours_reaches_the_kernel(const char *text)
{
	struct ip_addr address = lab_addr(text);
	struct tap t = {.fd = packet_socket("a1"), .destination = address};
	struct flow f = {.in = packet_socket("a0"), .out = packet_socket("b0")};
	struct lab_frame arp = {.len = 42};

	role_enter_host();
	make_frame(&f.frame, text, 64);
	memset(arp.b, 0xff, 6);
	arp.b[12] = 0x08;
	arp.b[13] = 0x06;

	/* Not a local address: forwarded, invisible to the kernel. */
	flow_send(&f);
	assert_true(lab_wait(flow_whole, &f, 300));
	assert_int_equal(send(f.in, arp.b, arp.len, 0), arp.len);
	assert_true(lab_wait(tap_has_arp, &t, 300));
	assert_int_equal(t.seen, 0);

	/* A local address, set on the second port: an address of any port is local on all ports. */
	assert_int_equal(port_local_address_set(VRF_DEFAULT, &address, true), 0);
	flow_send(&f);
	assert_true(lab_wait(tap_has_seen, &t, 300));
	flow_receive(&f);
	assert_int_equal(f.received, 1);

	assert_int_equal(port_local_address_set(VRF_DEFAULT, &address, false), 0);
	assert_int_equal(port_local_address_set(VRF_DEFAULT, &address, false),
		0); /* repeating is no error */
	f.sent = 1;
	flow_send(&f);
	assert_true(lab_wait(flow_whole, &f, 300));
	assert_int_equal(f.wrong, 0);
	close(t.fd);
	close(f.in);
	close(f.out);
}

static void
test_what_is_ours_reaches_the_kernel(void **state)
{
	(void)state;
	ours_reaches_the_kernel("10.1.2.3");
	ours_reaches_the_kernel("2001:db8:10::3");
}

/* ---- ICMP errors, back to the sender ---- */

struct back {
	int fd;
	struct ip_addr from;
	uint8_t type, code;
	unsigned right, wrong;
};

static void
back_read(struct back *b)
{
	bool v6 = b->from.afi == AFI_IPV6;
	unsigned address = v6 ? 22 : 26, icmp = v6 ? 54 : 34;
	uint8_t got[2048], mac[6];
	ssize_t len;

	port_mac(port_a, mac);
	while ((len = recv(b->fd, got, sizeof(got), 0)) > 0) {
		if ((unsigned)len < icmp + 8 ||
			memcmp(got + 12, v6 ? "\x86\xdd" : "\x08\x00", 2) != 0 ||
			memcmp(got + address, b->from.b, v6 ? 16 : 4) != 0)
			continue;
		if (got[icmp] == b->type && got[icmp + 1] == b->code &&
			memcmp(got, "\x02\x00\x00\x00\x00\x99", 6) == 0 &&
			memcmp(got + 6, mac, 6) == 0)
			b->right++;
		else
			b->wrong++;
	}
}

static bool
back_right(void *ctx)
{
	back_read(ctx);
	return ((struct back *)ctx)->right > 0;
}

static void
error_comes(const char *to, uint8_t ttl, const char *from, uint8_t type, uint8_t code)
{
	struct back b = {
		.fd = packet_socket("a0"), .from = lab_addr(from), .type = type, .code = code};
	struct lab_frame f;

	make_frame(&f, to, ttl);
	assert_int_equal(send(b.fd, f.b, f.len, 0), f.len);
	if (!lab_wait(back_right, &b, 300))
		fail_msg("no error %u/%u about a packet to %s", type, code, to);
	assert_int_equal(b.wrong, 0);
	close(b.fd);
}

static void
test_errors_reach_the_sender(void **state)
{
	struct ip_addr v4 = lab_addr("198.51.100.254"), v6 = lab_addr("2001:db8:9::fe");
	struct ip_addr none = {.afi = AFI_NONE};

	(void)state;
	role_enter_host();
	/* no address on the port */
	error_comes("10.1.2.3", 1, "192.0.0.8", 11, 0);
	port_icmp_source_set(port_a, AFI_IPV4, &v4);
	port_icmp_source_set(port_a, AFI_IPV6, &v6);
	error_comes("10.1.2.3", 1, "198.51.100.254", 11, 0);
	error_comes("203.0.113.1", 9, "198.51.100.254", 3, 0);
	error_comes("2001:db8:10::3", 1, "2001:db8:9::fe", 3, 0);
	error_comes("2001:db8:4::1", 9, "2001:db8:9::fe", 1, 0);
	port_icmp_source_set(port_a, AFI_IPV4, &none);
	error_comes("10.1.2.3", 1, "192.0.0.8", 11, 0);
	port_icmp_source_set(port_a, AFI_IPV4, &v4);
}

/*
 * RFC 1812 3.3.2: no error is sent while the kernel resolves the neighbour, then errors are sent.
 */
static void
test_unreachable_after_asking(void **state)
{
	struct back b4 = {.fd = packet_socket("a0"),
		.from = lab_addr("198.51.100.254"),
		.type = 3,
		.code = 1};
	struct back b6 = {.fd = packet_socket("a0"),
		.from = lab_addr("2001:db8:9::fe"),
		.type = 1,
		.code = 3};
	uint64_t start = lab_now_ns(), due = start, first4 = 0, first6 = 0;
	struct glean g[64];
	unsigned asked = 0;
	struct lab_frame f4, f6;

	(void)state;
	role_enter_host();
	make_frame(&f4, "172.16.0.5", 64); /* on the port's own subnet */
	make_frame(&f6, "2001:db8:3::5", 64); /* behind a next hop that does not answer */
	while (lab_now_ns() - start < UINT64_C(3600000000) || first4 == 0 || first6 == 0 ||
		asked < 20) {
		assert_true(lab_now_ns() - start < UINT64_C(60000000000));
		assert_int_equal(send(b4.fd, f4.b, f4.len, 0), f4.len);
		assert_int_equal(send(b6.fd, f6.b, f6.len, 0), f6.len);
		due += 50000000; /* the pace: twenty of each per second */
		tick_until(due);
		back_read(&b4);
		back_read(&b6);
		if (first4 == 0 && b4.right > 0)
			first4 = lab_now_ns() - start;
		if (first6 == 0 && b6.right > 0)
			first6 = lab_now_ns() - start;
		asked += worker_gleans(g, 64);
	}
	assert_true(first4 > UINT64_C(2900000000) && first6 > UINT64_C(2900000000));
	assert_true(b4.wrong == 0 && b6.wrong == 0);
	/* both, at most ten times a second */
	assert_true(asked <= 4 + (lab_now_ns() - start) / 50000000);
	close(b4.fd);
	close(b6.fd);
}

/* ---- the link changes ---- */

static void
test_link_changes(void **state)
{
	struct flow f = {.in = packet_socket("a0"), .out = packet_socket("b0")};
	uint64_t other = lab_drops(DROP_other_host);
	uint8_t mac[6];
	bool changed;

	(void)state;
	role_enter_host();
	assert_int_equal(port_refresh(port_a, &changed), 0);
	assert_false(changed);
	assert_int_equal(port_refresh(77, &changed), -ENOENT);
	run("ip link set a1 address 02:00:00:00:77:01 && ip link set b1 mtu 1400");
	assert_int_equal(port_refresh(port_b, &changed), 0);
	assert_true(changed);
	assert_int_equal(port_mtu(port_b), 1400);
	make_frame(&f.frame, "2001:db8:10::3",
		64); /* to the old address, because the new one has not been read yet */
	assert_int_equal(port_refresh(port_a, &changed), 0);
	assert_true(changed);
	port_mac(port_a, mac);
	assert_memory_equal(mac, "\x02\x00\x00\x00\x77\x01", 6);
	flow_send(&f);
	make_frame(&f.frame, "2001:db8:10::3", 64);
	f.sent = 0;
	flow_send(&f);
	assert_true(lab_wait(flow_whole, &f, 300));
	assert_int_equal(f.wrong, 0);
	assert_int_equal(lab_drops(DROP_other_host), other + 1);
	run("ip link set b1 mtu 1500");
	assert_int_equal(port_refresh(port_b, &changed), 0);
	assert_int_equal(port_mtu(port_b), 1500);
	close(f.in);
	close(f.out);
}

/* The descriptor of a deleted TAP is closed: its errors would wake the host thread without end. */
static void
test_deleted_tap(void **state)
{
	struct pollfd p = {.events = POLLIN};

	(void)state;
	role_enter_host();
	p.fd = host_path_fd(port_tap);
	assert_true(p.fd >= 0);
	assert_true(host_path_drain(port_tap));
	assert_int_equal(host_path_fd(port_tap), p.fd);
	run("ip link delete tap9");
	assert_int_equal(poll(&p, 1, 300000), 1);
	assert_true(host_path_drain(port_tap));
	assert_int_equal(host_path_fd(port_tap), -1);
	assert_true(host_path_drain(port_tap));
	port_states_read();
}

/* An AF_XDP socket on the first queue. False: an error. */
static bool
use_queue(const char *iface)
{
	size_t page = (size_t)getpagesize();
	void *memory =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xdp_umem_reg umem = {
		.addr = (uint64_t)(uintptr_t)memory, .len = 2 * page, .chunk_size = (uint32_t)page};
	struct sockaddr_xdp at = {.sxdp_family = AF_XDP,
		.sxdp_flags = XDP_COPY,
		.sxdp_ifindex = if_nametoindex(iface)};
	int fd = socket(AF_XDP, SOCK_RAW, 0), size = 64;

	return fd >= 0 && memory != MAP_FAILED &&
	       setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) == 0 &&
	       setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)) == 0 &&
	       setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)) == 0 &&
	       setsockopt(fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)) == 0 &&
	       bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
}

/* Another program uses the queue until *end is closed. */
static pid_t
use_queue_elsewhere(const char *iface, int *end)
{
	int ready[2], done[2];
	char byte = 0;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(done), 0);
	child = fork();
	if (child == 0) {
		close(done[1]);
		byte = (char)use_queue(iface);
		_exit(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 0 ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	close(ready[0]);
	close(ready[1]);
	close(done[0]);
	*end = done[1];
	return child;
}

/* Sends a packet that lies outside the memory of the socket. */
static void
send_invalid(int fd)
{
	struct xdp_mmap_offsets at;
	socklen_t len = sizeof(at);
	struct xdp_desc *desc;
	uint32_t *producer;
	size_t bytes;
	char *ring;

	assert_int_equal(getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &len), 0);
	bytes = at.tx.desc + TX_RING * sizeof(*desc);
	ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, XDP_PGOFF_TX_RING);
	assert_ptr_not_equal(ring, MAP_FAILED);
	producer = (uint32_t *)(void *)(ring + at.tx.producer);
	desc = (struct xdp_desc *)(void *)(ring + at.tx.desc);
	desc[*producer % TX_RING] = (struct xdp_desc){.addr = UINT64_MAX, .len = 64};
	__atomic_store_n(producer, *producer + 1, __ATOMIC_RELEASE);
	(void)sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	(void)munmap(ring, bytes);
}

/* A port that does not open because its queue is in use takes no packet buffers. */
static void
test_used_queue(void **state)
{
	const struct port_config c = {.name = "used", .device = "net_af_xdp3,iface=c1"};
	const struct rte_mempool *pool = rte_mempool_lookup("keel_soft");
	unsigned buffers = rte_mempool_avail_count(pool);
	struct dataplane_error err = {""};
	uint16_t port;
	int end, status;
	pid_t child = use_queue_elsewhere("c1", &end);

	(void)state;
	assert_int_equal(port_add(&c, &port, &err), -EBUSY);
	assert_non_null(strstr(err.text, "receive queue 0 of c1 is in use"));
	assert_int_equal(rte_mempool_avail_count(pool), buffers);
	assert_int_equal(attached_id("c1"), 0);
	close(end);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* the kernel frees the queue later; port_add() waits */
	if (port_add(&c, &port, &err) != 0)
		fail_msg("port_add: %s", err.text);
	port_hide(port);
	port_unserve(port);
	port_close(port);
	assert_int_equal(rte_mempool_avail_count(pool), buffers);
}

static void
test_stop_leaves_nothing(void **state)
{
	struct port_counters counters;

	(void)state;
	workers_stop();
	send_invalid(port_xdp_socket(port_a, 0));
	assert_int_equal(port_counters_get(port_a, &counters), 0);
	assert_int_equal(counters.xdp_invalid, 1);
	assert_int_equal(workers_count(), 0);
	dataplane_fini();
	xdp_destroy(reserved);
	lab_fib_down(&lab);
	assert_int_equal(attached_id("a1"), 0);
	assert_int_equal(attached_id("b1"), 0);
	assert_int_equal(rmdir(directory), 0); /* the object is removed, too */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_program_is_refused),
		cmocka_unit_test(test_own_leftover_is_removed),
		cmocka_unit_test(test_running_keeld_is_respected),
		cmocka_unit_test(test_pci_addresses),
		cmocka_unit_test(test_bad_devices_are_refused),
		cmocka_unit_test(test_ports_come_up),
		cmocka_unit_test(test_paced_traffic_arrives),
		cmocka_unit_test(test_what_is_ours_reaches_the_kernel),
		cmocka_unit_test(test_errors_reach_the_sender),
		cmocka_unit_test(test_unreachable_after_asking),
		cmocka_unit_test(test_link_changes),
		cmocka_unit_test(test_deleted_tap),
		cmocka_unit_test(test_used_queue),
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
