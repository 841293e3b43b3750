/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Property test: a random mix of labelled and IP packets passes the worker. An independent model
 * gives the outcome of each packet: the frame byte for byte, or the reason of the drop. The Ethernet
 * address of a forwarded frame names the instance that was asked. Each reason occurs.
 *
 * With LAB_PIPE the worker uses the pipe model of RFC 3443. KEEL_SEED (20261123), KEEL_PACKETS
 * (8000).
 */
#include "lab.h"
#include "lpm/label_table.h"
#include "lpm/tunnel_set.h"
#include "pcap.h"
#include "tests/lpm/size.h"

#ifndef LAB_PIPE
#define LAB_PIPE 0
#endif
#define PACKETS_MAX 100000
#define INSTANCES 40
#define PAINTED 1 /* this instance has painted tables */
#define NO_ROUTES 41 /* an instance without a table */
#define ERRORS 5 /* of this instance an ICMP error is expected */
#define LABEL_OF(vrf) (1000u + (vrf))
#define LABEL_EMPTY (LABEL_COUNT - 1)
#define LABEL_SWAPPED 17u
#define LABEL_TUNNEL 18u /* swapped, into a tunnel of two labels */
#define LABEL_PHP 19u /* popped, to a next hop */
#define LABEL_LOST 20u /* swapped, to an unresolved next hop */
#define LABEL_GONE 21u
#define LABEL_DROPPED 22u /* swapped, to a blackhole */
#define OUT_LABEL 500000u
#define VPN_LABEL 77777u
#define LABEL_UDP 23u /* swapped, into a UDP tunnel */
/* MPLS over UDP: the ends of the tunnel, and an unknown router */
#define OWN IP(198, 18, 0, 1)
#define EDGE IP(198, 18, 0, 2)
#define STRANGER IP(198, 18, 0, 3)
#define TUNNEL_PORT 6635
#define KINDS 52
static const uint32_t tunnel[2] = {300001, 300002};

static char directory[] = "/tmp/keel-test-mpls-XXXXXX";
static struct lab_fib lab;
static uint64_t seed;
static unsigned packets;
static const uint8_t in_mac[6] = {0x02, 'p', 'c', 'a', 'p', 1},
		     plain_mac[6] = {0x02, 'p', 'c', 'a', 'p', 2},
		     edge_mac[6] = {0x02, 'p', 'c', 'a', 'p', 3};
static uint8_t out_mac[6];

static struct lab_frame *expected, *got;
static unsigned expected_count;
static uint64_t drops[DROP_COUNT];
static bool ports_seen[256]; /* by the high bits of the source port */

/* ---- routes: the MAC of a next hop ends in its number ---- */

enum { HOP_SWAP = 100, HOP_TUNNEL, HOP_PHP, HOP_LOST, HOP_DEFAULT, HOP_EDGE, HOP_UDP };

static void
hop_mac(unsigned number, uint8_t mac[6])
{
	memcpy(mac, "\x02\x00\x00\x00\x01\x00", 6);
	mac[5] = (uint8_t)number;
}

static struct next_hop_id
make_hop(unsigned number, bool up, const uint32_t *labels, unsigned label_count)
{
	struct adjacency adj = {
		.ether_len = 14, .label_count = (uint8_t)label_count, .port = 1, .mtu = 1500};
	struct ip_addr a = addr_from_v4(IP(192, 0, 2, number));
	struct next_hop_id id;

	role_enter_fib();
	hop_mac(number, adj.ether);
	memcpy(adj.ether + 6, out_mac, 6);
	if (label_count > 0)
		memcpy(adj.label, labels, label_count * sizeof(*labels));
	assert_int_equal(next_hop_get(lab.lists, VRF_DEFAULT, &a, 1, &id), 0);
	if (up)
		assert_int_equal(next_hop_up(lab.lists, id, &adj), 0);
	return id;
}

/* The edge at the end of the UDP tunnel. */
static struct next_hop_id
make_udp_hop(void)
{
	struct adjacency adj = {.ether_len = 14,
		.port = 1,
		.mtu = 1500 - 28,
		.udp_source = __builtin_bswap32(OWN),
		.udp_destination = __builtin_bswap32(EDGE)};
	struct ip_addr a = addr_from_v4(EDGE);
	struct next_hop_id id;

	role_enter_fib();
	hop_mac(HOP_UDP, adj.ether);
	memcpy(adj.ether + 6, out_mac, 6);
	assert_int_equal(next_hop_make(lab.lists, VRF_DEFAULT, &a, &id), 0);
	assert_int_equal(next_hop_up(lab.lists, id, &adj), 0);
	return id;
}

static struct path_list_id
make_list(struct next_hop_id hop, uint32_t label)
{
	struct path path = {.next_hop = hop, .label = label};
	struct path_list_id list;

	role_enter_fib();
	assert_int_equal(
		path_list_get(lab.lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &list), 0);
	return list;
}

static void
route(uint16_t vrf, const char *text, struct path_list_id list)
{
	struct prefix p;

	role_enter_fib();
	assert_int_equal(prefix_parse(text, &p), 0);
	assert_int_equal(fib_set(lab.fib, (struct vrf_id){vrf}, &p, list), 0);
}

static void
set_label(uint32_t label, struct label_entry e)
{
	role_enter_fib();
	assert_int_equal(label_table_set(fib_labels(lab.fib), label, &e), 0);
}

/* The instance with the route for 10.6.0.0/16 of instance `v`: another one, or `v`. */
static uint16_t
leaked_from(uint16_t v)
{
	return v % 3 == 0 ? PAINTED : v % 3 == 2 && v + 2 <= INSTANCES ? v + 2 : v;
}

static struct path_list_id
list_of_instance(uint16_t vrf)
{
	struct path_list_id list;

	role_enter_fib();
	assert_int_equal(path_list_get(lab.lists, PATH_LIST_INSTANCE, vrf, NULL, 0, &list), 0);
	return list;
}

static void
make_instances(void)
{
	role_enter_fib();
	for (uint16_t v = 1; v <= INSTANCES; v++) {
		struct path_list_id list = make_list(make_hop(v, true, NULL, 0), LABEL_NONE),
				    leaked = leaked_from(v) != v ? list_of_instance(leaked_from(v))
								 : list;

		if (v == PAINTED)
			assert_int_equal(fib_vrf_add(lab.fib, (struct vrf_id){v}, AFI_IPV4), 0);
		else
			assert_int_equal(
				fib_instance_add(lab.fib, (struct vrf_id){v}, AFI_IPV4), 0);
		assert_int_equal(fib_instance_add(lab.fib, (struct vrf_id){v}, AFI_IPV6), 0);
		/* equal prefixes in all instances */
		route(v, "10.0.0.0/8", list);
		route(v, "2001:db8:1::/48", list);
		route(v, "10.6.0.0/16", leaked);
		route(v, "2001:db8:6::/48", leaked);
		/* two instances in a circle would do the same */
		route(v, "10.5.0.0/16", list_of_instance(v));
		route(v, "2001:db8:5::/48", list_of_instance(v));
		for (unsigned i = 0; v == 2 && i < 3000; i++) { /* a tree */
			struct prefix p = prefix_from_v4(IP(11, 0, 0, 0) + (i << 8), 24);

			assert_int_equal(fib_set(lab.fib, (struct vrf_id){v}, &p, list), 0);
		}
		set_label(LABEL_OF(v), (struct label_entry){.op = LABEL_POP_INSTANCE, .vrf = {v}});
	}
	set_label(LABEL_EMPTY, (struct label_entry){.op = LABEL_POP_INSTANCE, .vrf = {NO_ROUTES}});
}

static void
make_labels(void)
{
	struct path_list_id list, blackhole;

	list = make_list(make_hop(HOP_SWAP, true, NULL, 0), LABEL_NONE);
	set_label(LABEL_SWAPPED,
		(struct label_entry){.op = LABEL_SWAP, .list = list, .out = OUT_LABEL});
	list = make_list(make_hop(HOP_TUNNEL, true, tunnel, 2), LABEL_NONE);
	set_label(LABEL_TUNNEL,
		(struct label_entry){.op = LABEL_SWAP, .list = list, .out = OUT_LABEL});
	route(0, "10.8.0.0/16", list); /* IP into a tunnel without a label of its own */
	list = make_list(make_hop(HOP_PHP, true, NULL, 0), LABEL_NONE);
	set_label(LABEL_PHP, (struct label_entry){.op = LABEL_POP_FORWARD, .list = list});
	list = make_list(make_hop(HOP_LOST, false, NULL, 0), LABEL_NONE);
	set_label(
		LABEL_LOST, (struct label_entry){.op = LABEL_SWAP, .list = list, .out = OUT_LABEL});
	set_label(LABEL_GONE, (struct label_entry){.op = LABEL_REMOVED});
	role_enter_fib();
	assert_int_equal(
		path_list_get(lab.lists, PATH_LIST_BLACKHOLE, PORT_NONE, NULL, 0, &blackhole), 0);
	set_label(LABEL_DROPPED,
		(struct label_entry){.op = LABEL_SWAP, .list = blackhole, .out = OUT_LABEL});
	route(0, "10.1.0.0/16", make_list(make_hop(HOP_DEFAULT, true, NULL, 0), LABEL_NONE));
	route(0, "2001:db8:1::/48", make_list(make_hop(HOP_DEFAULT, true, NULL, 0), LABEL_NONE));
	list = make_list(make_hop(HOP_EDGE, true, tunnel, 2), VPN_LABEL);
	route(0, "10.9.0.0/16", list);
	route(0, "2001:db8:9::/48", list);
}

static void
make_udp_tunnel(void)
{
	const struct tunnel t = {__builtin_bswap32(EDGE), __builtin_bswap32(OWN)};
	struct next_hop_id hop = make_udp_hop();
	struct path_list_id list = make_list(hop, VPN_LABEL), own;

	route(0, "10.10.0.0/16", list);
	route(0, "2001:db8:a::/48", list);
	list = make_list(hop, LABEL_NONE);
	route(0, "10.11.0.0/16", list);
	route(0, "2001:db8:b::/48", list);
	set_label(
		LABEL_UDP, (struct label_entry){.op = LABEL_SWAP, .list = list, .out = OUT_LABEL});
	role_enter_fib();
	assert_int_equal(path_list_get(lab.lists, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &own), 0);
	route(0, "198.18.0.1/32", own);
	route(ERRORS, "198.18.0.1/32", own); /* an equal address of an instance */
	role_enter_fib();
	assert_int_equal(tunnel_sets_put(fib_tunnels(lab.fib), &t, 1), 0);
}

/* ---- frames ---- */

/* Inserts a label above the packet. */
static void
put_label(struct lab_frame *f, uint32_t label, bool bottom, uint8_t class, uint8_t ttl)
{
	memmove(f->b + 18, f->b + 14, f->len - 14);
	f->len += 4;
	lab_set32(f->b + 14, label << 12 | (uint32_t) class << 9 | (uint32_t)bottom << 8 | ttl);
	f->b[12] = 0x88;
	f->b[13] = 0x47;
}

static unsigned split; /* packets that leave as two fragments */

static void
set16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t
sum16(const uint8_t *b, unsigned len, uint32_t sum)
{
	for (unsigned i = 0; i < len; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* RFC 768. */
static void
udp_checksum(struct lab_frame *f)
{
	unsigned len = f->len - 34;
	uint32_t sum;

	set16(f->b + 40, 0);
	sum = sum16(f->b + 26, 8, 17 + len);
	sum = sum16(f->b + 34, len, sum) ^ 0xffff;
	set16(f->b + 40, (uint16_t)(sum != 0 ? sum : 0xffff));
}

/* Puts the labelled packet into UDP. The source port is 0; see port_clear(). */
static void
wrap(struct lab_frame *f, uint32_t from, uint32_t to)
{
	uint8_t *ip = f->b + 14, *udp = f->b + 34;

	memmove(f->b + 42, f->b + 14, f->len - 14);
	f->len += 28;
	memset(ip, 0, 28);
	ip[0] = 0x45;
	set16(ip + 2, (uint16_t)(f->len - 14));
	ip[6] = 0x40; /* DF */
	ip[8] = 64;
	ip[9] = 17;
	lab_set32(ip + 12, from);
	lab_set32(ip + 16, to);
	set16(udp + 2, TUNNEL_PORT);
	set16(udp + 4, (uint16_t)(f->len - 34));
	f->b[12] = 0x08;
	f->b[13] = 0x00;
	lab_fix_checksum(f);
}

/* A packet to x.second.*.* or 2001:db8:second::*, which causes no ICMP error. */
static void
make_ip(struct lab_frame *f, bool v6, uint8_t second, uint8_t ttl, unsigned payload)
{
	uint8_t src[16] = {0x20, 1, 0xd, 0xb8, 0xff}, dst[16] = {0x20, 1, 0xd, 0xb8, 0, second};

	if (v6) {
		for (unsigned i = 8; i < 16; i++)
			src[i] = dst[i] = (uint8_t)(lab_random(&seed) | 1);
		lab_udp6(f, in_mac, src, dst, ttl, payload, &seed);
		f->b[20] = 58; /* ICMPv6, destination unreachable */
		f->b[54] = 1;
		return;
	}
	lab_udp(f, in_mac, IP(20, 1, 2, lab_below(&seed, 256)),
		IP(10, second, lab_below(&seed, 256), lab_below(&seed, 256)), ttl,
		lab_below(&seed, 4) == 0 ? 2 : 0, payload, &seed);
	f->b[23] = 1; /* ICMP, destination unreachable */
	f->b[14 + (f->b[14] & 15) * 4] = 3;
	lab_fix_checksum(f);
}

static bool
is_v6(const struct lab_frame *f)
{
	return f->b[12] == 0x86;
}

static void
ttl_set(struct lab_frame *f, uint8_t ttl)
{
	f->b[is_v6(f) ? 21 : 22] = ttl;
	if (!is_v6(f))
		lab_fix_checksum(f);
}

static uint32_t
addr_v4_of(const uint8_t *b)
{
	return IP(b[0], b[1], b[2], b[3]);
}

static uint8_t
least(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

static struct lab_frame *
expect(const struct lab_frame *f, unsigned hop)
{
	struct lab_frame *e = &expected[expected_count++];

	*e = *f;
	hop_mac(hop, e->b);
	memcpy(e->b + 6, out_mac, 6);
	return e;
}

static uint8_t
dscp_of(const struct lab_frame *ip)
{
	const uint8_t *b = ip->b + 14;

	return b[0] >> 4 == 4 ? b[1] >> 2 : (uint8_t)((b[0] & 15) << 2 | b[1] >> 6);
}

/* The packet leaves in a UDP tunnel of the class. */
static void
wrap_class(struct lab_frame *f, uint8_t dscp)
{
	wrap(f, OWN, EDGE);
	f->b[15] = (uint8_t)(dscp << 2);
	lab_fix_checksum(f);
}

/* The packet leaves to the edge with three labels. */
static void
expect_edge(const struct lab_frame *ip)
{
	struct lab_frame *e = expect(ip, HOP_EDGE);

	put_label(e, VPN_LABEL, true, dscp_of(ip) >> 3, LAB_PIPE ? 255 : 63);
	for (unsigned i = 2; i-- > 0;)
		put_label(e, tunnel[i], false, dscp_of(ip) >> 3, LAB_PIPE ? 255 : 63);
}

/* The packet leaves by the UDP tunnel with a label, or with explicit null. */
static void
expect_udp(const struct lab_frame *ip)
{
	struct lab_frame *e = expect(ip, HOP_UDP);

	put_label(e, ip->b[31] == 10 ? VPN_LABEL : 0, true, dscp_of(ip) >> 3, LAB_PIPE ? 255 : 63);
	wrap_class(e, dscp_of(ip));
}

/* Fragment 0 or 1 of an IPv4 packet without options, with `first` octets of payload in fragment 0. */
static void
cut_fragment(const struct lab_frame *ip, unsigned which, unsigned first, struct lab_frame *part)
{
	unsigned len = which == 0 ? first : ip->len - 34 - first;

	*part = *ip;
	memcpy(part->b + 34, ip->b + 34 + which * first, len);
	part->len = 34 + len;
	set16(part->b + 16, (uint16_t)(20 + len));
	set16(part->b + 20, (uint16_t)(which == 0 ? 0x2000 : first / 8));
	lab_fix_checksum(part);
}

/*
 * A labelled packet that is too large with the labels of its next hop. RFC 3032 3.4: IPv4 without
 * DF below one or two labels is fragmented; DF, a wrong header checksum, IPv6 or too many labels
 * forbid that.
 */
static void
make_big_labelled(struct lab_frame *f, uint8_t class, uint8_t ttl)
{
	unsigned kind = lab_below(&seed, 8), under = lab_below(&seed, 2), big = 1500 - 4 - 28;
	struct lab_frame part[2];

	lab_udp(f, in_mac, IP(20, 1, 2, 3), IP(10, 9, 0, 1), 64, 0, big - 4 * under, &seed);
	if (kind == 0)
		f->b[20] = 0x40;
	lab_fix_checksum(f);
	if (kind == 1)
		f->b[25] ^= 1;
	if (kind == 2)
		f->b[14] ^= 0x20; /* version 6 */
	for (unsigned i = 0; i < 2; i++)
		cut_fragment(f, i, 1464, &part[i]);
	for (unsigned i = 0; i < under; i++)
		put_label(f, 9999, i == 0, class, 77);
	put_label(f, LABEL_TUNNEL, under == 0, class, ttl);
	if (kind < 3) {
		drops[DROP_too_big]++;
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct lab_frame *e = expect(&part[i], HOP_TUNNEL);

		for (unsigned k = 0; k < under; k++)
			put_label(e, 9999, k == 0, class, 77);
		put_label(e, OUT_LABEL, under == 0, class, (uint8_t)(ttl - 1));
		for (unsigned k = 2; k-- > 0;)
			put_label(e, tunnel[k], false, class, LAB_PIPE ? 255 : (uint8_t)(ttl - 1));
	}
	split++;
}

/* Makes a packet and its outcome; `labelled`: for an instance. */
static void
make_packet(struct lab_frame *f, bool labelled)
{
	unsigned kind = labelled ? KINDS : lab_below(&seed, KINDS);
	uint16_t vrf = (uint16_t)(1 + lab_below(&seed, INSTANCES));
	uint8_t class = (uint8_t)lab_below(&seed, 8);
	uint8_t inner = (uint8_t)(2 + lab_below(&seed, 254));
	uint8_t outer = (uint8_t)(2 + lab_below(&seed, 254));
	bool v6 = lab_below(&seed, 2), end = kind == 3 || kind == 4;
	unsigned payload = 8 + lab_below(&seed, 1200), cut;
	struct lab_frame ip, *e;

	if (end) /* the label or the packet is at its end */
		*(kind == 3 ? &outer : &inner) = (uint8_t)lab_below(&seed, 2);
	make_ip(&ip, v6, 1, inner, payload);
	*f = ip;
	switch (kind) {
	case 0: /* a reserved label; 0 and 2 are valid */
		put_label(f, (uint32_t[]){1, 3, 4, 7, 13, 15}[lab_below(&seed, 6)], true, class,
			outer);
		drops[DROP_mpls_label]++;
		return;
	case 1:
		put_label(f, 2000 + lab_below(&seed, 900000), true, class, outer);
		drops[DROP_mpls_label]++;
		return;
	case 2:
		put_label(f, LABEL_GONE, lab_below(&seed, 2), class, outer);
		drops[DROP_mpls_removed]++;
		return;
	case 3:
	case 4:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		drops[kind == 3 && LAB_PIPE ? DROP_mpls_ttl : DROP_ttl_expired]++;
		return;
	case 5:
		put_label(f, 16 + lab_below(&seed, 900), true, class, outer);
		put_label(f, LABEL_OF(vrf), false, class, outer);
		drops[DROP_mpls_bottom]++;
		return;
	case 6: /* ends within the label */
		put_label(f, LABEL_OF(vrf), true, class, outer);
		f->len = 14 + lab_below(&seed, 4);
		drops[DROP_mpls_short]++;
		return;
	case 7: /* ends after the label; with other labels, within the second one */
		put_label(f, (uint32_t[]){LABEL_OF(vrf), LABEL_PHP, 0, 2}[lab_below(&seed, 4)],
			true, class, outer);
		f->len = 18;
		drops[DROP_mpls_short]++;
		return;
	case 8:
		put_label(
			f, (uint32_t[]){LABEL_PHP, 0, 2}[lab_below(&seed, 3)], false, class, outer);
		f->len = 18 + lab_below(&seed, 4);
		drops[DROP_mpls_short]++;
		return;
	case 9:
		put_label(f, lab_below(&seed, 2) ? LABEL_OF(vrf) : LABEL_PHP, true, class, outer);
		f->b[18] = (uint8_t)((f->b[18] & 15) | (lab_below(&seed, 2) ? 0x50 : 0xf0));
		drops[DROP_mpls_payload]++;
		return;
	case 10:
		put_label(f,
			(uint32_t[]){LABEL_SWAPPED, LABEL_TUNNEL, LABEL_PHP}[lab_below(&seed, 3)],
			true, class, (uint8_t)lab_below(&seed, 2));
		drops[DROP_mpls_ttl]++;
		return;
	case 11:
		put_label(f, LABEL_LOST, true, class, outer);
		drops[DROP_unresolved]++;
		return;
	case 12:
		put_label(f, LABEL_DROPPED, true, class, outer);
		drops[DROP_blackhole]++;
		return;
	case 13:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		f->b[0] |= 1;
		drops[DROP_link_broadcast]++;
		return;
	case 14:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		f->b[5] ^= 0x40;
		drops[DROP_other_host]++;
		return;
	case 15: /* no route: an unknown destination, or an instance without a table */
		make_ip(f, v6, v6 ? 2 : 1, inner, payload);
		if (!v6) {
			lab_set32(f->b + 30, IP(12, 0, 0, 1));
			lab_fix_checksum(f);
		}
		put_label(f, lab_below(&seed, 2) ? LABEL_OF(vrf) : LABEL_EMPTY, true, class, outer);
		drops[DROP_no_route]++;
		return;
	case 16: /* a changed TTL does not repair the checksum */
		make_ip(f, false, 1, inner, payload);
		f->b[25] ^= 0x10;
		put_label(f, LABEL_OF(vrf), true, class, outer);
		drops[DROP_bad_checksum]++;
		return;
	case 17: /* an incomplete IP packet */
		make_ip(f, false, 1, inner, payload);
		cut = 1 + lab_below(&seed, 19);
		put_label(f, LABEL_OF(vrf), true, class, outer);
		f->len = 18 + cut;
		drops[DROP_too_short]++;
		return;
	case 18:
		put_label(f, LABEL_SWAPPED, lab_below(&seed, 2), class, outer);
		e = expect(f, HOP_SWAP);
		lab_set32(e->b + 14, OUT_LABEL << 12 | (uint32_t) class << 9 |
					     (f->b[16] & 1u) << 8 | (outer - 1u));
		return;
	case 19:
		put_label(f, LABEL_TUNNEL, true, class, outer);
		e = expect(f, HOP_TUNNEL);
		lab_set32(
			e->b + 14, OUT_LABEL << 12 | (uint32_t) class << 9 | 0x100u | (outer - 1u));
		for (unsigned i = 2; i-- > 0;)
			put_label(
				e, tunnel[i], false, class, LAB_PIPE ? 255 : (uint8_t)(outer - 1));
		return;
	case 20:
		put_label(f, LABEL_PHP, true, class, outer);
		if (!LAB_PIPE)
			ttl_set(&ip, least(inner, (uint8_t)(outer - 1)));
		(void)expect(&ip, HOP_PHP);
		return;
	case 21: /* a label is left */
		put_label(&ip, 9999, true, class, inner);
		*f = ip;
		put_label(f, LABEL_PHP, false, class, outer);
		if (!LAB_PIPE)
			ip.b[17] = least(inner, (uint8_t)(outer - 1));
		(void)expect(&ip, HOP_PHP);
		return;
	case 22: /* explicit null to the VRF of the port */
		put_label(f, v6 ? 2 : 0, true, class, outer);
		ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(inner, outer)) - 1));
		(void)expect(&ip, HOP_DEFAULT);
		return;
	case 23: /* explicit nulls above the label of an instance */
		put_label(f, LABEL_OF(vrf), true, class, 200);
		for (unsigned i = 1 + lab_below(&seed, 3); i-- > 0;)
			put_label(f, lab_below(&seed, 2) * 2, false, class, outer);
		ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(least(inner, outer), 200)) - 1));
		(void)expect(&ip, vrf);
		return;
	case 51: /* an explicit null above a label that is swapped, of different classes */
		put_label(f, LABEL_SWAPPED, true, class ^ 5, 200);
		put_label(f, lab_below(&seed, 2) * 2, false, class, outer);
		put_label(&ip, OUT_LABEL, true, LAB_PIPE ? class ^ 5 : class,
			(uint8_t)((LAB_PIPE ? 200 : least(outer, 200)) - 1));
		(void)expect(&ip, HOP_SWAP);
		return;
	case 24: /* too many of them */
		put_label(f, LABEL_OF(vrf), true, class, outer);
		for (unsigned i = 0; i < 5; i++)
			put_label(f, 0, false, class, outer);
		drops[DROP_mpls_label]++;
		return;
	case 25: /* IP gets the labels of the tunnel, and an own label */
	case 26:
		make_ip(&ip, v6, 9, inner, payload);
		*f = ip;
		ttl_set(&ip, (uint8_t)(inner - 1));
		e = expect(&ip, HOP_EDGE);
		put_label(e, VPN_LABEL, true, dscp_of(&ip) >> 3,
			LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		for (unsigned i = 2; i-- > 0;)
			put_label(e, tunnel[i], false, dscp_of(&ip) >> 3,
				LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		return;
	case 27: /* the labels of the tunnel alone */
		make_ip(&ip, false, 8, inner, payload);
		*f = ip;
		ttl_set(&ip, (uint8_t)(inner - 1));
		e = expect(&ip, HOP_TUNNEL);
		put_label(e, tunnel[1], true, dscp_of(&ip) >> 3,
			LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		put_label(e, tunnel[0], false, dscp_of(&ip) >> 3,
			LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		return;
	case 28: /* one byte more than fits with three labels; without the options of make_ip() */
		lab_udp(f, in_mac, IP(20, 1, 2, 3), IP(10, 9, 0, 1), 64, 0,
			1500 - 12 - 28 + lab_below(&seed, 2), &seed);
		ip = *f;
		ttl_set(&ip, 63);
		if (f->len - 14 + 12 <= 1500) {
			expect_edge(&ip);
			return;
		}
		/* RFC 3032 3.4: two labelled fragments */
		for (unsigned i = 0; i < 2; i++) {
			struct lab_frame part;

			cut_fragment(&ip, i, 1464, &part);
			expect_edge(&part);
		}
		split++;
		return;
	case 29: /* labelled, and too big with two more labels */
		make_big_labelled(f, class, outer);
		return;
	case 30: /* IP beside labels */
		make_ip(&ip, v6, 1, inner, payload);
		*f = ip;
		ttl_set(&ip, (uint8_t)(inner - 1));
		(void)expect(&ip, HOP_DEFAULT);
		return;
	case 31: /* MPLS over UDP, without and with a checksum */
	case 32:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		wrap(f, EDGE, OWN);
		if (kind == 31)
			udp_checksum(f);
		ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(inner, outer)) - 1));
		(void)expect(&ip, vrf);
		return;
	case 33: /* a label that is swapped, and an explicit null to `default` */
		put_label(f, lab_below(&seed, 2) ? LABEL_SWAPPED : v6 ? 2 : 0, true, class, outer);
		if (f->b[15] != 0x01) { /* explicit null */
			ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(inner, outer)) - 1));
			(void)expect(&ip, HOP_DEFAULT);
		} else {
			e = expect(f, HOP_SWAP);
			lab_set32(e->b + 14,
				OUT_LABEL << 12 | (uint32_t) class << 9 | 0x100u | (outer - 1u));
		}
		wrap(f, EDGE, OWN);
		return;
	case 34: /* from an address that is no edge */
		put_label(f, LABEL_OF(vrf), true, class, outer);
		wrap(f, STRANGER, OWN);
		drops[DROP_udp_source]++;
		return;
	case 35: /* the UDP length is wrong, or leaves no room for a label */
		put_label(f, LABEL_OF(vrf), true, class, outer);
		wrap(f, EDGE, OWN);
		set16(f->b + 38,
			(uint16_t)(lab_below(&seed, 2) ? lab_below(&seed, 12) : f->len - 33));
		drops[DROP_udp_short]++;
		return;
	case 36:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		wrap(f, EDGE, OWN);
		udp_checksum(f);
		f->b[f->len - 1] ^= 1;
		drops[DROP_udp_checksum]++;
		return;
	case 37: /* of this router: a further port, a fragment, a different protocol */
		put_label(f, LABEL_OF(vrf), true, class, outer);
		wrap(f, EDGE, OWN);
		f->b[(unsigned[]){36, 20, 23}[lab_below(&seed, 3)]] ^= 0x20;
		lab_fix_checksum(f);
		drops[DROP_local_loop]++;
		return;
	case 38: /* drops of the lane of labels: the port may, and the label is unknown */
		put_label(f, 2000 + lab_below(&seed, 900000), true, class, outer);
		wrap(f, EDGE, OWN);
		drops[DROP_mpls_label]++;
		return;
	case 39: /* IP into the UDP tunnel */
	case 40:
		make_ip(&ip, v6, 10, inner, payload);
		*f = ip;
		ttl_set(&ip, (uint8_t)(inner - 1));
		e = expect(&ip, HOP_UDP);
		put_label(e, VPN_LABEL, true, dscp_of(&ip) >> 3,
			LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		wrap_class(e, dscp_of(&ip));
		return;
	case 41: /* without a label of its own: explicit null */
		make_ip(&ip, v6, 11, inner, payload);
		*f = ip;
		ttl_set(&ip, (uint8_t)(inner - 1));
		e = expect(&ip, HOP_UDP);
		put_label(e, v6 ? 2 : 0, true, dscp_of(&ip) >> 3,
			LAB_PIPE ? 255 : (uint8_t)(inner - 1));
		wrap_class(e, dscp_of(&ip));
		return;
	case 42: /* one byte more than fits into the tunnel with a label */
		lab_udp(f, in_mac, IP(20, 1, 2, 3), IP(10, 10 + lab_below(&seed, 2), 0, 1), 64, 0,
			1500 - 32 - 28 + lab_below(&seed, 2), &seed);
		ip = *f;
		ttl_set(&ip, 63);
		if (f->len - 14 + 32 <= 1500) {
			expect_udp(&ip);
			return;
		}
		for (unsigned i = 0; i < 2; i++) {
			struct lab_frame part;

			cut_fragment(&ip, i, 1448, &part);
			expect_udp(&part);
		}
		split++;
		return;
	case 43: /* swapped, into the UDP tunnel */
		put_label(f, LABEL_UDP, true, class, outer);
		e = expect(f, HOP_UDP);
		lab_set32(
			e->b + 14, OUT_LABEL << 12 | (uint32_t) class << 9 | 0x100u | (outer - 1u));
		wrap_class(e, (uint8_t)(class << 3));
		return;
	case 44: /* a route of another instance */
		make_ip(&ip, v6, 6, inner, payload);
		*f = ip;
		put_label(f, LABEL_OF(vrf), true, class, outer);
		ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(inner, outer)) - 1));
		(void)expect(&ip, leaked_from(vrf));
		return;
	case 45:
		make_ip(f, v6, 5, inner, payload);
		put_label(f, LABEL_OF(vrf), true, class, outer);
		drops[DROP_local_loop]++;
		return;
	default:
		put_label(f, LABEL_OF(vrf), true, class, outer);
		ttl_set(&ip, (uint8_t)((LAB_PIPE ? inner : least(inner, outer)) - 1));
		(void)expect(&ip, vrf);
		return;
	}
}

/* ---- the run ---- */

static bool
all_seen(void *ctx)
{
	return lab_seen() >= *(unsigned *)ctx;
}

/* No route in the instance, and an ICMP error about it. */
static void
make_fault(struct lab_frame *f, bool v6)
{
	uint8_t src[16] = {0x20, 1, 0xd, 0xb8, 0, 1, [15] = 7}, dst[16] = {0x20, 1, 0xd, 0xb8, 7};

	if (v6)
		lab_udp6(f, in_mac, src, dst, 64, 40, &seed);
	else
		lab_udp(f, in_mac, IP(10, 1, 1, 7), IP(12, 0, 0, 1), 64, 0, 40, &seed);
	put_label(f, LABEL_OF(ERRORS), true, 0, 64);
	drops[DROP_no_route]++;
}

/* The error is routed in the instance, and comes from the port. */
static bool
is_error(const struct lab_frame *f)
{
	uint8_t mac[6];

	if (f->b[12] == 0x08 ? addr_v4_of(f->b + 26) != IP(192, 0, 2, 254) || f->b[34] != 3
			     : f->b[12] != 0x86 || f->b[29] != 0xfe || f->b[54] != 1)
		return false;
	hop_mac(ERRORS, mac);
	assert_memory_equal(f->b, mac, 6);
	if (f->b[12] == 0x08)
		assert_int_equal(addr_v4_of(f->b + 30), IP(10, 1, 1, 7));
	else
		assert_int_equal(f->b[53], 7);
	return true;
}

static bool
all_told(void *ctx)
{
	(void)ctx;
	return worker_stats(0)->originated == 2;
}

/* Spoofed packets: a port of `default` without `mpls` drops UDP tunnels with known addresses. */
static void
write_edge(const char *edge)
{
	FILE *f = pcap_create(edge);
	struct lab_frame frame;

	assert_non_null(f);
	for (unsigned i = 0; i < 50; i++) {
		make_ip(&frame, i % 2, 1, 64, 100);
		memcpy(frame.b, edge_mac, 6);
		put_label(&frame, LABEL_OF(3), true, 0, 64);
		wrap(&frame, EDGE, OWN);
		drops[DROP_local_loop]++;
		pcap_put(f, frame.b, frame.len);
	}
	assert_int_equal(fclose(f), 0);
	packets += 50;
}

static void
write_input(const char *in, const char *plain)
{
	FILE *f = pcap_create(in);
	struct lab_frame frame;

	assert_non_null(f);
	for (unsigned i = 0; i < packets; i++) {
		/* mixed bursts, and bursts of labels alone */
		make_packet(&frame, i / 500 % 4 == 3);
		pcap_put(f, frame.b, frame.len);
	}
	for (unsigned v6 = 0; v6 < 2; v6++) {
		make_fault(&frame, v6);
		pcap_put(f, frame.b, frame.len);
	}
	packets += 2;
	assert_int_equal(fclose(f), 0);
	/* a port without `mpls`, in an instance, takes IP alone */
	f = pcap_create(plain);
	assert_non_null(f);
	for (unsigned i = 0; i < 100; i++) {
		make_ip(&frame, i % 2, 1, 64, 100);
		memcpy(frame.b, plain_mac, 6);
		if (i % 3 == 0) {
			put_label(&frame, LABEL_OF(3), true, 0, 64);
			drops[DROP_mpls_port]++;
			if (i % 2 == 0) { /* tunnels end in `default` alone */
				wrap(&frame, EDGE, OWN);
				drops[DROP_mpls_port]--;
				drops[DROP_local_loop]++;
			}
		} else {
			struct lab_frame *e = expect(&frame, ERRORS);

			ttl_set(e, 63);
		}
		pcap_put(f, frame.b, frame.len);
	}
	assert_int_equal(fclose(f), 0);
	packets += 100;
}

/* RFC 7510 3: the source port of a tunnel packet has the hash of the flow; checked, and set to 0. */
static void
port_clear(struct lab_frame *f)
{
	if (f->b[12] != 0x08 || addr_v4_of(f->b + 30) != EDGE)
		return;
	assert_true(f->b[34] >= 0xc0);
	ports_seen[(f->b[34] & 0x3f) << 2 | f->b[35] >> 6] = true;
	set16(f->b + 34, 0);
}

static int
frame_order(const void *a, const void *b)
{
	const struct lab_frame *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->b, y->b, x->len);
}

static void
compare_output(const char *path)
{
	FILE *f = pcap_open(path);
	unsigned count = 0, errors = 0;
	int len;

	assert_non_null(f);
	while (count < expected_count + 2 &&
		(len = pcap_next(f, got[count].b, sizeof(got[count].b))) >= 0) {
		got[count].len = (unsigned)len;
		if (is_error(&got[count])) {
			errors++;
			continue;
		}
		port_clear(&got[count]);
		count++;
	}
	fclose(f);
	assert_int_equal(count, expected_count);
	assert_int_equal(errors, 2);
	qsort(expected, count, sizeof(*expected), frame_order);
	qsort(got, count, sizeof(*got), frame_order);
	for (unsigned i = 0; i < count; i++) {
		if (frame_order(&expected[i], &got[i]) == 0)
			continue;
		for (unsigned k = 0; k < expected[i].len && k < 80; k++)
			print_message("%02x%s", expected[i].b[k],
				expected[i].b[k] == got[i].b[k] ? " " : "! ");
		fail_msg("frame %u of %u: %u bytes, expected %u", i, count, got[i].len,
			expected[i].len);
	}
}

static void
compare_drops(void)
{
	for (unsigned i = 0; i < DROP_COUNT; i++)
		if (lab_lost((enum drop_reason)i) != drops[i])
			fail_msg("dropped for %s: %lu, expected %lu",
				drop_reason_text((enum drop_reason)i),
				(unsigned long)lab_lost((enum drop_reason)i),
				(unsigned long)drops[i]);
	for (unsigned i = DROP_mpls_port; i <= DROP_udp_checksum; i++)
		assert_true(drops[i] > 0);
}

/* The flows of the tunnel spread over the source ports. */
static void
check_spread(void)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < sizeof(ports_seen); i++)
		seen += ports_seen[i];
	assert_true(packets < 8000 || seen > sizeof(ports_seen) / 2);
}

static uint16_t
port(const char *name, const char *device, bool mpls, uint16_t vrf)
{
	struct dataplane_error err = {""};
	uint16_t number = 0;
	int rc = port_add(
		&(struct port_config){
			.name = name, .device = device, .vrf = {vrf}, .mpls = mpls, .mtu = 1500},
		&number, &err);

	if (rc != 0)
		fail_msg("port_add %s: %d %s", name, rc, err.text);
	return number;
}

/* The receiving port, and a port of the instance, which the errors come from. */
static void
set_sources(uint16_t number, const char *address)
{
	struct ip_addr v4 = lab_addr(address), v6 = lab_addr("2001:db8:a::fe");

	role_enter_host();
	v6.b[7] = v4.b[3]; /* to be seen in the output */
	port_icmp_source_set(number, AFI_IPV4, &v4);
	port_icmp_source_set(number, AFI_IPV6, &v6);
}

static void
workers_up(void)
{
	struct dataplane_error err = {""};
	int rc = workers_start(&(struct workers_config){.arena = lab.arena,
				       .fib = fib_reader(lab.fib),
				       .qsbr = lab.qsbr,
				       .count = 1,
				       .path_lists = lab.lists,
				       .mpls_pipe = LAB_PIPE},
		&err);

	if (rc != 0)
		fail_msg("workers_start: %d %s", rc, err.text);
}

static void
test_mix(void **state)
{
	char in[64], plain[64], edge[64], out[64], device[200];
	uint8_t mac[6];

	(void)state;
	expected = calloc(2 * packets + 160, sizeof(*expected));
	got = calloc(2 * packets + 160, sizeof(*got));
	assert_true(expected != NULL && got != NULL);
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	snprintf(plain, sizeof(plain), "%s/plain.pcap", directory);
	snprintf(edge, sizeof(edge), "%s/edge.pcap", directory);
	snprintf(out, sizeof(out), "%s/out.pcap", directory);
	lab_eal_up(directory, 64);
	(void)port("null", "net_null0,no-rx=1", false, 0);
	snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", out);
	port_mac(port("out", device, false, 0), out_mac);
	write_input(in, plain);
	write_edge(edge);
	snprintf(device, sizeof(device), "net_pcap1,rx_pcap=%s", in);
	port_mac(port("in", device, true, 0), mac);
	assert_memory_equal(mac, in_mac, 6);
	snprintf(device, sizeof(device), "net_pcap2,rx_pcap=%s", plain);
	port_mac(port("plain", device, false, ERRORS), mac);
	assert_memory_equal(mac, plain_mac, 6);
	snprintf(device, sizeof(device), "net_pcap3,rx_pcap=%s", edge);
	port_mac(port("edge", device, false, 0), mac);
	assert_memory_equal(mac, edge_mac, 6);
	lab_fib_up(&lab);
	make_instances();
	make_labels();
	make_udp_tunnel();
	lab_commit(&lab);
	set_sources(2, "192.0.2.253");
	set_sources(3, "192.0.2.254");
	workers_up();
	if (!lab_wait(all_seen, &packets, 300)) {
		compare_drops();
		fail_msg("not all were seen");
	}
	compare_drops();
	assert_int_equal(worker_stats(0)->forwarded, expected_count - split);
	assert_int_equal(worker_stats(0)->fragments, 2 * split);
	assert_true(split > 0);
	assert_true(lab_wait(all_told, NULL, 300));
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	compare_output(out);
	check_spread();
	unlink(in);
	unlink(plain);
	unlink(edge);
	unlink(out);
	free(expected);
	free(got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mix)};
	int failed;

	if (!cpu_has_level())
		return 77;
	role_enter_main();
	seed = test_setting("KEEL_SEED", 20261123);
	packets = (unsigned)test_setting("KEEL_PACKETS", 8000);
	if (packets > PACKETS_MAX)
		packets = PACKETS_MAX;
	print_message("seed %lu, %u packets\n", (unsigned long)seed, packets);
	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
