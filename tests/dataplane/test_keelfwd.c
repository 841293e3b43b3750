/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parts of keelfwd: the requests to the kernel that keelfwd executes for keeld, and the addresses that
 * outlive keeld. The connections of keelfwd as a process: the argument is the program.
 */
#include "dataplane/process/forwarder_wire.h"
#include "dataplane/process/host_netlink.h"
#include "lpm/base/own_table.h"
#include "dataplane/port/host_peers.h"
#include "dataplane/process/host_setting.h"
#include "dataplane/process/kept_addresses.h"
#include "dataplane/process/permit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN 7
#define OTHER 8

/* ---- requests to the kernel ---- */

struct request {
	struct nlmsghdr head;
	union {
		struct ndmsg neighbor;
		struct ifaddrmsg address;
		struct ifinfomsg link;
		char room[64];
	};
};

static bool
is_own(void *ctx, unsigned ifindex)
{
	(void)ctx;
	return ifindex == OWN;
}

static bool
permits(struct request r, uint16_t type, size_t body)
{
	r.head.nlmsg_type = type;
	r.head.nlmsg_len = (uint32_t)(sizeof(r.head) + body);
	return host_netlink_permits(&r, r.head.nlmsg_len, is_own, NULL);
}

static void
test_neighbors(void **state)
{
	struct request r = {.neighbor = {.ndm_family = AF_INET, .ndm_ifindex = OWN}};

	(void)state;
	assert_true(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor) + 8));
	assert_true(permits(r, RTM_DELNEIGH, sizeof(r.neighbor)));
	assert_false(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor) - 1));
	r.neighbor.ndm_family = AF_INET6;
	assert_true(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor)));
	r.neighbor.ndm_family = AF_BRIDGE;
	assert_false(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor)));
	r.neighbor = (struct ndmsg){.ndm_family = AF_INET, .ndm_ifindex = OTHER};
	assert_false(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor)));
	assert_false(permits(r, RTM_DELNEIGH, sizeof(r.neighbor)));
	r.neighbor.ndm_ifindex = 0;
	assert_false(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor)));
	r.neighbor.ndm_ifindex = -1;
	assert_false(permits(r, RTM_NEWNEIGH, sizeof(r.neighbor)));
}

static void
test_addresses(void **state)
{
	struct request r = {
		.address = {.ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = OWN}};

	(void)state;
	assert_true(permits(r, RTM_NEWADDR, sizeof(r.address) + 20));
	assert_true(permits(r, RTM_DELADDR, sizeof(r.address) + 20));
	assert_false(permits(r, RTM_NEWADDR, sizeof(r.address) - 1));
	/* no subnet of an interface */
	r.address.ifa_prefixlen = 1;
	assert_false(permits(r, RTM_NEWADDR, sizeof(r.address) + 20));
	r.address = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 7, .ifa_index = OWN};
	assert_false(permits(r, RTM_NEWADDR, sizeof(r.address) + 8));
	r.address.ifa_prefixlen = 8;
	assert_true(permits(r, RTM_NEWADDR, sizeof(r.address) + 8));
	r.address =
		(struct ifaddrmsg){.ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = OWN};
	r.address.ifa_index = OTHER;
	assert_false(permits(r, RTM_NEWADDR, sizeof(r.address) + 20));
	r.address = (struct ifaddrmsg){.ifa_family = AF_PACKET, .ifa_index = OWN};
	assert_false(permits(r, RTM_NEWADDR, sizeof(r.address) + 20));
}

/* Adds an attribute with four bytes behind `used` bytes of the room. Returns the bytes then. */
static size_t
put(struct request *r, size_t used, uint16_t type)
{
	const struct nlattr a = {.nla_len = sizeof(a) + 4, .nla_type = type};

	memcpy(r->room + used, &a, sizeof(a));
	return used + sizeof(a) + 4;
}

static void
test_attributes(void **state)
{
	struct request address = {.address = {.ifa_family = AF_INET,
					  .ifa_prefixlen = 24,
					  .ifa_index = OWN}},
		       neighbor = {.neighbor = {.ndm_family = AF_INET, .ndm_ifindex = OWN}}, r;
	size_t used = put(&address, put(&address, sizeof(address.address), IFA_LOCAL), IFA_ADDRESS),
	       all;

	(void)state;
	assert_true(permits(address, RTM_NEWADDR, used));
	all = put(&address, used, IFA_TARGET_NETNSID);
	assert_false(permits(address, RTM_NEWADDR, all));
	all = put(&address, used, IFA_TARGET_NETNSID | NLA_F_NET_BYTEORDER);
	assert_false(permits(address, RTM_DELADDR, all));
	r = (struct request){.address = address.address};
	all = put(&r, sizeof(r.address), IFA_TARGET_NETNSID);
	assert_false(permits(r, RTM_NEWADDR, all));
	used = put(&neighbor, put(&neighbor, sizeof(neighbor.neighbor), NDA_DST), NDA_FLAGS_EXT);
	assert_true(permits(neighbor, RTM_NEWNEIGH, used));
	all = put(&neighbor, used, NDA_MASTER);
	assert_false(permits(neighbor, RTM_NEWNEIGH, all));
}

static void
test_links(void **state)
{
	const struct ifinfomsg up = {.ifi_index = OWN, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct request r = {.link = up};

	(void)state;
	assert_true(permits(r, RTM_NEWLINK, sizeof(r.link)));
	assert_false(permits(r, RTM_NEWLINK, sizeof(r.link) + 8)); /* an attribute */
	r.link.ifi_index = OTHER;
	assert_false(permits(r, RTM_NEWLINK, sizeof(r.link)));
	r.link = up;
	r.link.ifi_flags = 0; /* down */
	assert_false(permits(r, RTM_NEWLINK, sizeof(r.link)));
	r.link = up;
	r.link.ifi_change = IFF_UP | IFF_PROMISC;
	assert_false(permits(r, RTM_NEWLINK, sizeof(r.link)));
}

static void
test_other_requests(void **state)
{
	struct request r = {.neighbor = {.ndm_family = AF_INET, .ndm_ifindex = OWN}};

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		bool known = type == RTM_NEWNEIGH || type == RTM_DELNEIGH || type == RTM_NEWADDR ||
			     type == RTM_DELADDR;

		if (type == RTM_NEWADDR || type == RTM_DELADDR)
			r.address.ifa_prefixlen = 24;
		assert_int_equal(permits(r, (uint16_t)type, sizeof(r.neighbor)), known);
	}
	/* a second message behind the first, and a message longer than the datagram */
	r.head = (struct nlmsghdr){
		.nlmsg_type = RTM_NEWNEIGH, .nlmsg_len = sizeof(r.head) + sizeof(r.neighbor)};
	assert_true(host_netlink_permits(&r, r.head.nlmsg_len, is_own, NULL));
	assert_false(host_netlink_permits(&r, r.head.nlmsg_len + 16, is_own, NULL));
	assert_false(host_netlink_permits(&r, r.head.nlmsg_len - 1, is_own, NULL));
	assert_false(host_netlink_permits(&r, sizeof(r.head) - 1, is_own, NULL));
}

/* ---- rules and settings of ports ---- */

static bool
is_lo(void *ctx, unsigned ifindex)
{
	(void)ctx;
	return ifindex != 0 && ifindex == if_nametoindex("lo");
}

struct rule_request {
	struct nlmsghdr head;
	struct fib_rule_hdr rule;
	struct nlattr priority;
	uint32_t value;
	struct nlattr name;
	char iface[16];
};

static bool
permits_rule(struct rule_request r, uint16_t type)
{
	r.head = (struct nlmsghdr){.nlmsg_type = type, .nlmsg_len = sizeof(r)};
	return host_netlink_permits(&r, sizeof(r), is_lo, NULL);
}

static void
test_rules(void **state)
{
	const struct rule_request good = {.rule = {.family = AF_INET, .action = FR_ACT_BLACKHOLE},
		.priority = {.nla_len = 8, .nla_type = FRA_PRIORITY},
		.value = 100,
		.name = {.nla_len = 7, .nla_type = FRA_IIFNAME},
		.iface = "lo"};
	struct rule_request r = good;

	(void)state;
	assert_true(permits_rule(r, RTM_NEWRULE));
	assert_true(permits_rule(r, RTM_DELRULE));
	r.rule.action = FR_ACT_TO_TBL;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	r.rule.src_len = 8;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	r.rule.family = AF_BRIDGE;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	r.priority.nla_type = FRA_FWMARK;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	r.name.nla_type = FRA_OIFNAME;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	memcpy(r.iface, "no-such-device", 15);
	r.name.nla_len = 19;
	assert_false(permits_rule(r, RTM_NEWRULE));
	assert_true(permits_rule(r, RTM_DELRULE)); /* of an interface that was deleted */
	memset(r.iface, 'x', sizeof(r.iface)); /* without NUL */
	r.name.nla_len = 20;
	assert_false(permits_rule(r, RTM_NEWRULE));
	r = good;
	r.name.nla_len = 4; /* a rule for all interfaces */
	assert_false(permits_rule(r, RTM_NEWRULE));
}

struct own_rule_request {
	struct nlmsghdr head;
	struct fib_rule_hdr rule;
	struct nlattr priority;
	uint32_t value;
	struct nlattr source;
	uint8_t addr[4];
	struct nlattr protocol;
	uint8_t number, pad[3];
};

static bool
permits_own_rule(struct own_rule_request r, uint16_t type)
{
	r.head = (struct nlmsghdr){.nlmsg_type = type, .nlmsg_len = sizeof(r)};
	return host_netlink_permits(&r, sizeof(r), is_own, NULL);
}

static void
test_own_rules(void **state)
{
	const struct own_rule_request good = {.rule = {.family = AF_INET,
						      .action = FR_ACT_TO_TBL,
						      .table = OWN_TABLE,
						      .src_len = 32},
		.priority = {.nla_len = 8, .nla_type = FRA_PRIORITY},
		.value = OWN_RULE_PRIORITY,
		.source = {.nla_len = 8, .nla_type = FRA_SRC},
		.addr = {127, 0, 0, 1},
		.protocol = {.nla_len = 5, .nla_type = FRA_PROTOCOL},
		.number = OWN_PROTOCOL};
	struct own_rule_request r = good;

	(void)state;
	assert_true(permits_own_rule(r, RTM_NEWRULE));
	assert_true(permits_own_rule(r, RTM_DELRULE));
	r.rule.table = RT_TABLE_MAIN;
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	r = good;
	r.rule.src_len = 0;
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	r = good;
	r.rule.flags = FIB_RULE_INVERT;
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	r = good;
	r.value = 0; /* before the local table */
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	r = good;
	r.source.nla_type = FRA_DST;
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	r = good;
	memcpy(r.addr, (uint8_t[]){192, 0, 2, 1},
		4); /* of no interface: gone, or of a guest behind */
	assert_false(permits_own_rule(r, RTM_NEWRULE));
	assert_true(permits_own_rule(r, RTM_DELRULE));
	r.number = RTPROT_STATIC; /* of the operator */
	assert_false(permits_own_rule(r, RTM_DELRULE));
}

/* An address of an interface that is not ours: packets of management stay where they are. */
static void
test_foreign_address(void **state)
{
	struct own_rule_request r = {.rule = {.family = AF_INET,
					     .action = FR_ACT_TO_TBL,
					     .table = OWN_TABLE,
					     .src_len = 32},
		.priority = {.nla_len = 8, .nla_type = FRA_PRIORITY},
		.value = OWN_RULE_PRIORITY,
		.source = {.nla_len = 8, .nla_type = FRA_SRC},
		.protocol = {.nla_len = 5, .nla_type = FRA_PROTOCOL},
		.number = OWN_PROTOCOL};
	struct ifaddrs *all, *i;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(r.addr, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, 4);
		assert_int_equal(permits_own_rule(r, RTM_NEWRULE), !!(i->ifa_flags & IFF_LOOPBACK));
	}
	freeifaddrs(all);
}

static void
test_own_routes(void **state)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
		struct nlattr oif;
		uint32_t ifindex;
	} good = {.head = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_len = sizeof(good)},
		.route = {.rtm_family = AF_INET, .rtm_table = OWN_TABLE, .rtm_type = RTN_UNICAST},
		.oif = {.nla_len = 8, .nla_type = RTA_OIF},
		.ifindex = OWN},
	  r = good;

	(void)state;
	assert_true(host_netlink_permits(&r, sizeof(r), is_own, NULL));
	r.ifindex = OTHER;
	assert_false(host_netlink_permits(&r, sizeof(r), is_own, NULL));
	r = good;
	r.route.rtm_table = RT_TABLE_MAIN;
	assert_false(host_netlink_permits(&r, sizeof(r), is_own, NULL));
	r = good;
	r.route.rtm_type = RTN_LOCAL;
	assert_false(host_netlink_permits(&r, sizeof(r), is_own, NULL));
	r = good;
	r.oif.nla_type = RTA_TABLE;
	assert_false(host_netlink_permits(&r, sizeof(r), is_own, NULL));
}

static void
test_settings(void **state)
{
	static const char *const refused[][2] = {
		{"/proc/sys/net/ipv4/conf/lo/forwarding", "1"},
		{"/proc/sys/net/ipv4/conf/all/rp_filter", "0"},
		/* neither 0 nor the value at the start */
		{"/proc/sys/net/ipv4/conf/all/accept_redirects", "1"},
		{"/proc/sys/net/ipv6/conf/all/accept_redirects", "0"},
		{"/proc/sys/net/ipv4/conf/no-such-device/rp_filter", "0"},
		{"/proc/sys/net/ipv4/conf/lo/rp_filter/..", "0"},
		{"/proc/sys/net/ipv4/conf/lo/../all/rp_filter", "0"},
		{"/proc/sys/net/ipv5/conf/lo/rp_filter", "0"},
		{"/proc/sys/net/ipv4/conf/lo/rp_filter", ""},
		{"/proc/sys/net/ipv4/conf/lo/rp_filter", "123456789"},
		{"/etc/passwd", "x"},
		{"ethtool/./lo/tx-vlan-hw-insert", "off"},
		{"ethtool/other/lo/rx-vlan-hw-parse", "off"},
		{"ethtool/./no-such-device/rx-vlan-hw-parse", "off"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(host_setting(refused[i][0], refused[i][1], is_lo, NULL), -EPERM);
	/* permitted here; the kernel then has no such feature of lo, or refuses the caller */
	assert_int_not_equal(host_setting("ethtool/./lo/rx-vlan-hw-parse", "on", is_lo, NULL), 0);
}

/* ---- addresses that outlive keeld ---- */

static struct ip_addr removed[4];
static enum kept_kind removed_kind[4];
static unsigned removed_count;

static void
note_removed(enum kept_kind kind, struct vrf_id vrf, const struct ip_addr *addr)
{
	(void)vrf;
	assert_true(removed_count < 4);
	removed_kind[removed_count] = kind;
	removed[removed_count++] = *addr;
}

static void
test_kept(void **state)
{
	const struct vrf_id vrf = {0}, other = {1};
	struct kept_addresses *k = kept_addresses_create();
	struct ip_addr a = {.afi = AFI_IPV4, .b = {192, 0, 2, 1}},
		       b = {.afi = AFI_IPV4, .b = {192, 0, 2, 2}};

	(void)state;
	assert_non_null(k);
	assert_int_equal(kept_addresses_set(k, KEPT_PEER, vrf, &a, true), 0);
	assert_int_equal(kept_addresses_set(k, KEPT_LOCAL, vrf, &a, true), 0);
	assert_int_equal(kept_addresses_set(k, KEPT_PEER, vrf, &b, true), 0);
	assert_int_equal(kept_addresses_set(k, KEPT_PEER, vrf, &b, false), 0);
	kept_addresses_sweep(k, note_removed);
	assert_int_equal(removed_count, 0); /* all of the present keeld */
	kept_addresses_age(k);
	/* the next keeld has the local address, and a peer of the same address in another instance */
	assert_int_equal(kept_addresses_set(k, KEPT_LOCAL, vrf, &a, true), 0);
	assert_int_equal(kept_addresses_set(k, KEPT_PEER, other, &a, true), 0);
	kept_addresses_sweep(k, note_removed);
	assert_int_equal(removed_count, 1);
	assert_int_equal(removed_kind[0], KEPT_PEER);
	assert_true(addr_equal(&removed[0], &a));
	kept_addresses_sweep(k, note_removed);
	assert_int_equal(removed_count, 1);
	for (unsigned i = 0; i < 1000; i++) {
		b.b[2] = (uint8_t)(i >> 8);
		b.b[3] = (uint8_t)i;
		assert_int_equal(kept_addresses_set(k, KEPT_PEER, vrf, &b, true), 0);
	}
	kept_addresses_destroy(k);
}

/* ---- addresses of peers ---- */

static bool
is_full(const struct host_peers *t)
{
	for (unsigned i = 0; i < HOST_PEER_SLOTS; i++)
		if (atomic_load_explicit(&t->slot[i], memory_order_relaxed) == 0)
			return false;
	return true;
}

/* keeld sets more peers than there can be: a removal ends all the same. */
static void
test_peers_full(void **state)
{
	const struct vrf_id vrf = {0};
	static struct host_peers t;
	struct ip_addr a = {.afi = AFI_IPV4};

	(void)state;
	for (uint32_t i = 0; i < 1000000 && !(i % 16384 == 0 && is_full(&t)); i++) {
		memcpy(a.b, &i, sizeof(i));
		(void)host_peers_set(&t, vrf, &a, true);
	}
	assert_true(is_full(&t));
	memset(a.b, 0, sizeof(a.b));
	(void)alarm(20);
	assert_true(host_peers_set(&t, vrf, &a, false));
	(void)alarm(0);
	assert_false(is_full(&t));
}

/* ---- what keeld may give to EAL ---- */

static const struct permitted none = {0};

static bool
eal_takes(const char *first, const char *second, const struct permitted *own)
{
	const char *args[] = {"--no-huge", first, second};
	unsigned count = second != NULL ? 3 : 2;

	return permit_eal_args(args, count, own) == count;
}

static void
test_permit_eal_args(void **state)
{
	static const char *const texts[] = {"-d", "/usr/lib/mine.so", "net_pcap0,iface=eth0"};
	const struct permitted own = {texts, 3};

	(void)state;
	assert_true(eal_takes("-m", "512", &none));
	assert_true(eal_takes("-m512", NULL, &none));
	assert_true(eal_takes("--socket-mem=512,512", "--iova-mode=va", &none));
	assert_true(eal_takes("--log-level", "lib.eal:debug", &none));
	assert_true(eal_takes("-a", "0000:03:00.0,representor=[0-3]", &none));
	assert_false(eal_takes("-d", "/tmp/evil.so", &none));
	assert_false(eal_takes("-d/tmp/evil.so", NULL, &none));
	assert_false(eal_takes("--no-huge=x", NULL, &none));
	assert_false(eal_takes("--vdev", "net_softnic0,firmware=/tmp/x", &none));
	assert_false(eal_takes("--vdev=net_pcap0,tx_pcap=/etc/x", NULL, &none));
	assert_false(eal_takes("-a", "net_softnic0,firmware=/tmp/x", &none));
	assert_false(eal_takes("-anet_pcap0,tx_pcap=/etc/x", NULL, &none));
	assert_false(eal_takes("--huge-dir", "/etc", &none));
	assert_false(eal_takes("--file-prefix=x", NULL, &none));
	assert_false(eal_takes("--proc-type=secondary", NULL, &none));
	assert_false(eal_takes("--log-leve=8", NULL, &none)); /* EAL would take the prefix */
	assert_false(eal_takes("-m", "-d", &none)); /* a value, or an option? */
	assert_false(eal_takes("-m", NULL, &none));
	assert_false(eal_takes("--", NULL, &none));
	assert_false(eal_takes("x", NULL, &none));
	assert_false(eal_takes("", NULL, &none));
	assert_true(eal_takes("-d", "/usr/lib/mine.so", &own));
	assert_false(eal_takes("-d", "/tmp/evil.so", &own));
}

static void
test_permit_device(void **state)
{
	static const char *const texts[] = {"net_pcap0,iface=eth0"};
	const struct permitted own = {texts, 1};

	(void)state;
	assert_true(permit_device("0000:03:00.0", &none));
	assert_true(permit_device("03:00.1,dv_flow_en=1", &none));
	assert_true(permit_device("635a7ae3-091e-4410-ae59-667c4f8c04c3", &none));
	assert_true(permit_device("net_af_xdp0,iface=eth1", &none));
	assert_true(permit_device("net_tap,iface=x", &none));
	assert_true(permit_device("net_virtio_user1,path=/dev/vhost-net", &none));
	assert_false(permit_device("net_af_xdp0,iface=eth1,xdp_prog=/tmp/x.o", &none));
	assert_true(permit_device("net_af_xdp_red,iface=red", &none));
	assert_false(permit_device("net_tapevil", &none));
	assert_false(permit_device("net_tap-evil", &none));
	assert_false(permit_device("net_softnic0,firmware=/tmp/x", &none));
	assert_false(permit_device("net_pcap0,tx_pcap=/etc/x", &none));
	assert_false(permit_device("eth_af_packet0", &none));
	assert_false(permit_device("", &none));
	assert_false(permit_device(",x", &none));
	assert_true(permit_device("net_pcap0,iface=eth0", &own));
	assert_false(permit_device("net_pcap0,iface=eth1", &own));
}

/* ---- connections ---- */

static const char *program;
static char folder[] = "/tmp/keel-test-keelfwd-XXXXXX";
static pid_t pid;

static int
begin(void **state)
{
	char socket[64], ready[16], end;
	int p[2];

	(void)state;
	assert_non_null(program);
	assert_non_null(mkdtemp(folder));
	assert_int_equal(pipe(p), 0);
	snprintf(socket, sizeof(socket), "%s/s", folder);
	snprintf(ready, sizeof(ready), "%d", p[1]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execl(program, program, "--socket", socket, "--ready-fd", ready, NULL);
		_exit(127);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &end, 1), 1);
	close(p[0]);
	return 0;
}

static int
end(void **state)
{
	char path[64];

	(void)state;
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	snprintf(path, sizeof(path), "%s/s.d", folder);
	rmdir(path);
	return rmdir(folder);
}

static int
connection(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s/s", folder);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* The result; 1: the connection was closed instead. */
static int
hello(int fd, enum forwarder_role role)
{
	const struct {
		struct forwarder_header head;
		struct forwarder_hello hello;
	} m = {{FORWARDER_MAGIC, FORWARDER_HELLO}, {.abi = forwarder_abi(), .role = role}};
	struct {
		struct forwarder_header head;
		struct forwarder_hello_answer answer;
	} a = {.answer.result = 1};

	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	assert_in_range(recv(fd, &a, sizeof(a), 0), 0, sizeof(a));
	return a.answer.result;
}

/* A connection keeps the role, and the role decides what the end cleans up. */
static void
test_one_role(void **state)
{
	int fd = connection(), other = connection();

	(void)state;
	assert_int_equal(hello(fd, FORWARDER_ASK), 0);
	assert_int_equal(hello(fd, FORWARDER_MAIN), 0);
	assert_int_equal(hello(other, FORWARDER_MAIN), -EBUSY);
	assert_int_equal(hello(other, FORWARDER_HOST), 0);
	assert_int_equal(hello(fd, FORWARDER_EVENTS), 1);
	assert_int_equal(hello(other, FORWARDER_ASK), 1);
	close(fd);
	close(other);
	fd = connection();
	assert_int_equal(hello(fd, FORWARDER_MAIN), 0);
	close(fd);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbors),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_other_requests),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_own_rules),
		cmocka_unit_test(test_foreign_address),
		cmocka_unit_test(test_own_routes),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_peers_full),
		cmocka_unit_test(test_permit_eal_args),
		cmocka_unit_test(test_permit_device),
		cmocka_unit_test_setup_teardown(test_one_role, begin, end),
	};

	program = argc > 1 ? argv[1] : NULL;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
