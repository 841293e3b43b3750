/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors as seen by traceroute: real kernels on both sides of two AF_XDP ports, each in a
 * network namespace of a child process. The sender's kernel must find the socket of each ICMP
 * error, so checksums, addresses and the quoted packet must be right. Needs root.
 */
#include "lab.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Leaks of DPDK 22.11's driver, see test_port.c. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libbpf.so\nleak:libxdp.so\n";
}

#define MAC_A0 "02:00:00:00:0a:00"
#define MAC_A1 "02:00:00:00:0a:01"
#define MAC_B0 "02:00:00:00:0b:00"
#define MAC_B1 "02:00:00:00:0b:01"

/* a0: the sender's end; b0: the far end. The router answers to everything on a1 and b1. */
static const char *const sender_setup[] = {
	"ip link set lo up",
	"ethtool -K a0 tx off gso off tso off >/dev/null",
	"ip addr add 192.0.2.2/24 dev a0",
	"ip addr add 2001:db8:a::2/64 dev a0 nodad",
	"ip link set a0 up",
	"ip neigh replace 192.0.2.1 lladdr " MAC_A1 " dev a0 nud permanent",
	"ip neigh replace 2001:db8:a::1 lladdr " MAC_A1 " dev a0 nud permanent",
	"ip route add default via 192.0.2.1",
	"ip -6 route add default via 2001:db8:a::1",
	NULL,
};

static const char *const far_setup[] = {
	"ip link set lo up",
	"ethtool -K b0 tx off gso off tso off >/dev/null",
	"ip addr add 10.1.2.3/16 dev b0",
	"ip addr add 2001:db8:10::3/48 dev b0 nodad",
	"ip link set b0 up",
	"ip neigh replace 10.1.0.1 lladdr " MAC_B1 " dev b0 nud permanent",
	"ip neigh replace 2001:db8:10::1 lladdr " MAC_B1 " dev b0 nud permanent",
	"ip route add default via 10.1.0.1",
	"ip -6 route add default via 2001:db8:10::1",
	NULL,
};

static const char *const router_setup[] = {
	"ip link set lo up",
	"ip link add a0 address " MAC_A0 " type veth peer name a1 address " MAC_A1,
	"ip link add b0 address " MAC_B0 " type veth peer name b1 address " MAC_B1,
	"ip link set a1 up",
	"ip link set b1 up",
	NULL,
};

static const struct probe {
	const char *to;
	int ttl;
	unsigned size;
	uint8_t type, code;
	const char *offender;
	uint32_t info;
} probes[] = {
	{"10.1.2.3", 1, 40, 11, 0, "192.0.2.1", 0},
	{"10.1.2.3", 2, 40, 3, 3, "10.1.2.3", 0},
	{"203.0.113.9", 9, 40, 3, 0, "192.0.2.1", 0},
	{"10.9.0.1", 9, 1300, 3, 4, "192.0.2.1", 1300},
	{"10.1.2.3", 1, 1400, 11, 0, "192.0.2.1", 0}, /* quoted in part */
	{"2001:db8:10::3", 1, 40, 3, 0, "2001:db8:a::1", 0},
	{"2001:db8:10::3", 2, 40, 1, 4, "2001:db8:10::3", 0},
	{"2001:db8:dead::1", 9, 40, 1, 0, "2001:db8:a::1", 0},
	{"2001:db8:19::1", 9, 1300, 2, 0, "2001:db8:a::1", 1300},
	{"2001:db8:10::3", 1, 1400, 3, 0, "2001:db8:a::1", 0},
};
#define PROBES (sizeof(probes) / sizeof(probes[0]))

static char directory[] = "/tmp/keel-test-traceroute-XXXXXX";
static struct lab_fib lab;

static bool
run_all(const char *const *commands)
{
	for (; *commands != NULL; commands++)
		if (system(*commands) != 0) {
			fprintf(stderr, "failed: %s\n", *commands);
			return false;
		}
	return true;
}

/* ---- the sender ---- */

static int
probe_socket(const struct probe *p, const struct ip_addr *to)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(33434)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(33434)};
	bool v6 = to->afi == AFI_IPV6;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), on = 1;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int discover = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;

	memcpy(&a.sin6_addr, to->b, 16);
	memcpy(&a4.sin_addr, to->b, 4);
	if (fd < 0 || setsockopt(fd, level, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on)) != 0 ||
		setsockopt(fd, level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &discover,
			sizeof(discover)) != 0 ||
		setsockopt(fd, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &p->ttl, sizeof(p->ttl)) !=
			0)
		return -1;
	if (connect(fd, v6 ? (struct sockaddr *)&a : (struct sockaddr *)&a4,
		    v6 ? sizeof(a) : sizeof(a4)) != 0)
		return -1;
	return fd;
}

static unsigned repeated; /* datagrams that the sender sent again */

/* Sends the probe until an error is queued: a datagram or its answer may get lost or be late on a busy machine. */
static bool
send_probe(int fd, size_t len)
{
	static const uint8_t payload[1500];
	struct pollfd wait = {.fd = fd};

	for (unsigned i = 0; i < 30; i++) {
		repeated += i > 0;
		/* a late answer is an error of the next send() */
		if (send(fd, payload, len, 0) < 0)
			return poll(&wait, 1, 0) == 1;
		if (poll(&wait, 1, 2000) == 1)
			return true;
	}
	return false;
}

/* Reads the error queued by the kernel for the socket. */
static bool
read_error(int fd, struct sock_extended_err *error, char *offender, size_t size)
{
	uint8_t control[512], payload[2048];
	struct iovec iov = {payload, sizeof(payload)};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};

	if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		union {
			struct sockaddr any;
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} from;

		memcpy(error, CMSG_DATA(c), sizeof(*error));
		memset(&from, 0, sizeof(from));
		memcpy(&from, CMSG_DATA(c) + sizeof(*error),
			c->cmsg_len - CMSG_LEN(sizeof(*error)) < sizeof(from)
				? c->cmsg_len - CMSG_LEN(sizeof(*error))
				: sizeof(from));
		return inet_ntop(from.any.sa_family,
			       from.any.sa_family == AF_INET ? (void *)&from.v4.sin_addr
							     : (void *)&from.v6.sin6_addr,
			       offender, (socklen_t)size) != NULL;
	}
	return false;
}

static bool
try_probe(const struct probe *p)
{
	char offender[INET6_ADDRSTRLEN] = "";
	struct sock_extended_err e;
	struct ip_addr to;
	bool right;
	int fd;

	if (addr_parse(p->to, &to) != 0 || (fd = probe_socket(p, &to)) < 0) {
		fprintf(stderr, "%s: no socket: %s\n", p->to, strerror(errno));
		return false;
	}
	if (!send_probe(fd, p->size) || !read_error(fd, &e, offender, sizeof(offender))) {
		fprintf(stderr, "%s ttl %d size %u: nothing came\n", p->to, p->ttl, p->size);
		close(fd);
		return false;
	}
	close(fd);
	right = e.ee_type == p->type && e.ee_code == p->code && e.ee_info == p->info &&
		strcmp(offender, p->offender) == 0;
	if (!right)
		fprintf(stderr, "%s ttl %d size %u: %u/%u info %u from %s\n", p->to, p->ttl,
			p->size, e.ee_type, e.ee_code, e.ee_info, offender);
	return right;
}

/* ---- the processes ---- */

struct peer {
	pid_t pid;
	int to, from; /* a byte is a message: continue, or done: 1 + repeated, 0 after a failure */
};

static void
peer_main(int from, int to, bool sends)
{
	char byte = 0;
	bool ok = unshare(CLONE_NEWNET) == 0 && write(to, &byte, 1) == 1 &&
		  read(from, &byte, 1) == 1 && run_all(sends ? sender_setup : far_setup);

	for (unsigned i = 0; ok && sends && i < PROBES; i++)
		ok = try_probe(&probes[i]);
	byte = ok ? (char)(1 + (repeated < 100 ? repeated : 100)) : 0;
	/* The far peer stays until the router closes the pipe or ends. */
	if (write(to, &byte, 1) != 1 || (ok && read(from, &byte, 1) > 0))
		ok = false;
	_exit(ok ? 0 : 1);
}

static struct peer
peer_start(bool sends)
{
	int down[2], up[2];
	struct peer p;

	if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0)
		exit(1);
	p.pid = fork();
	if (p.pid == 0) {
		close(down[1]);
		close(up[0]);
		peer_main(down[0], up[1], sends);
	}
	close(down[0]);
	close(up[1]);
	p.to = down[1];
	p.from = up[0];
	return p;
}

/* 0: the peer failed. Otherwise 1 + its repeated datagrams. */
static unsigned
peer_word(const struct peer *p)
{
	char byte = 0;

	return read(p->from, &byte, 1) == 1 ? (unsigned)byte : 0;
}

static struct peer sender, far;

static void
set_routes(uint16_t a, uint16_t b)
{
	static const uint8_t mac_a0[6] = {2, 0, 0, 0, 0x0a, 0}, mac_b0[6] = {2, 0, 0, 0, 0x0b, 0};
	struct next_hop_id back = lab_next_hop(&lab, IP(192, 0, 2, 2), a, mac_a0, 1500);
	struct next_hop_id on = lab_next_hop(&lab, IP(10, 1, 2, 3), b, mac_b0, 1500);
	struct next_hop_id narrow = lab_next_hop(&lab, IP(10, 1, 2, 4), b, mac_b0, 1300);

	lab_route_text(&lab, "192.0.2.2/32", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "2001:db8:a::2/128", PATH_LIST_FORWARD, PORT_NONE, &back, 1);
	lab_route_text(&lab, "10.1.0.0/16", PATH_LIST_FORWARD, PORT_NONE, &on, 1);
	lab_route_text(&lab, "2001:db8:10::/48", PATH_LIST_FORWARD, PORT_NONE, &on, 1);
	lab_route_text(&lab, "10.9.0.0/16", PATH_LIST_FORWARD, PORT_NONE, &narrow, 1);
	lab_route_text(&lab, "2001:db8:19::/48", PATH_LIST_FORWARD, PORT_NONE, &narrow, 1);
	lab_commit(&lab);
}

static void
test_traceroute(void **state)
{
	struct ip_addr v4 = lab_addr("192.0.2.1"), v6 = lab_addr("2001:db8:a::1");
	unsigned sent, more;
	uint16_t a, b;
	int status;

	(void)state;
	lab_eal_up(directory, 64);
	a = lab_port("a1", "net_af_xdp0,iface=a1");
	b = lab_port("b1", "net_af_xdp1,iface=b1");
	lab_fib_up(&lab);
	set_routes(a, b);
	role_enter_host();
	port_icmp_source_set(a, AFI_IPV4, &v4);
	port_icmp_source_set(a, AFI_IPV6, &v6);
	lab_workers_up(&lab);
	assert_int_equal(write(far.to, "", 1), 1);
	assert_int_equal(peer_word(&far), 1);
	assert_int_equal(write(sender.to, "", 1), 1);
	sent = peer_word(&sender);
	/* A router that answers only repeated probes would need eight. */
	assert_in_range(sent, 1, 1 + 4);
	more = sent - 1; /* the router drops each datagram that reaches it */
	assert_in_range(lab_drops(DROP_ttl_expired), 4, 4 + more);
	assert_in_range(lab_drops(DROP_too_big), 2, 2 + more);
	assert_in_range(lab_drops(DROP_no_route), 2, 2 + more);
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	/* The peers' ends of the links disappear with the peers. */
	close(sender.to);
	close(far.to);
	assert_int_equal(waitpid(sender.pid, &status, 0), sender.pid);
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(far.pid, &status, 0), far.pid);
	assert_int_equal(status, 0);
}

static bool
move_link(const char *link, const struct peer *p)
{
	char command[100], byte;

	snprintf(command, sizeof(command), "ip link set %s netns %d", link, (int)p->pid);
	return read(p->from, &byte, 1) == 1 && system(command) == 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_traceroute)};
	int failed;

	role_enter_main();
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr, "skipped: a network namespace needs root: %s\n", strerror(errno));
		return 77;
	}
	if (mkdtemp(directory) == NULL)
		return 1;
	/* before EAL has threads */
	far = peer_start(false);
	sender = peer_start(true);
	if (!run_all(router_setup) || !move_link("a0", &sender) || !move_link("b0", &far))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
