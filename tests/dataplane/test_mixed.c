/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Property test: random bursts of both families pass the worker between pcap files. A slow
 * reference, written from the RFCs and without shared code, gives the outcome of each packet:
 * forwarded frames byte for byte, in order per family and port; drops by reason; one path per
 * flow; ICMP errors byte for byte (as many as the rate limit allows).
 *
 * KEEL_SEED (20261121), KEEL_PACKETS (20000). With LAB_SOURCE_ROUTES the worker forwards packets with a source route.
 */
#include "lab.h"
#include "pcap.h"
#include "tests/lpm/size.h"

#include <sys/stat.h>

#define PACKETS_MAX 200000
#define HOPS 7
#define OUT_PORTS 2 /* ports 1 and 2 */

static char directory[] = "/tmp/keel-test-mixed-XXXXXX";
static struct lab_fib lab;
static uint64_t seed;
static unsigned packets;
static const uint8_t in_mac[6] = {0x02, 'p', 'c', 'a', 'p', 2};

/* ---- routes ---- */

static const struct {
	const char *addr;
	uint16_t port, mtu;
	bool up;
} hop[HOPS] = {
	{"192.0.2.1", 1, 1500, true}, {"192.0.2.2", 2, 1500, true},
	{"2001:db8:a::3", 1, 1500, true}, {"192.0.2.4", 1, 1500, false},
	{"2001:db8:a::5", 2, 1500, false}, {"192.0.2.6", 2, 600, true},
	{"192.0.2.7", 1, 9000, true}, /* to the senders */
};

static const struct route {
	const char *prefix;
	enum path_list_kind kind;
	unsigned hops; /* bit mask */
	unsigned backups; /* bit mask; used in this order after the hops */
} routes[] = {
	{"10.1.0.0/16", PATH_LIST_FORWARD, 1 << 0},
	{"10.1.128.0/17", PATH_LIST_FORWARD, 1 << 1},
	{"10.1.128.7/32", PATH_LIST_FORWARD, 1 << 2}, /* IPv4 by an IPv6 next hop */
	{"10.2.0.0/16", PATH_LIST_FORWARD, 1 << 0 | 1 << 1 | 1 << 2},
	{"10.3.0.0/16", PATH_LIST_FORWARD, 1 << 3 | 1 << 4},
	{"10.4.0.0/16", PATH_LIST_BLACKHOLE, 0},
	{"10.5.0.0/16", PATH_LIST_GLEAN, 0},
	{"10.6.0.1/32", PATH_LIST_PUNT, 0},
	{"10.7.0.0/16", PATH_LIST_FORWARD, 1 << 5},
	{"10.8.0.0/16", PATH_LIST_FORWARD, 1 << 3 | 1 << 1}, /* one of two is up */
	{"10.9.0.0/16", PATH_LIST_FORWARD, 1 << 3, 1 << 0 | 1 << 1}, /* moved to the first backup */
	{"2001:db8:9::/48", PATH_LIST_FORWARD, 1 << 4 | 1 << 3, 1 << 1},
	{"10.10.0.0/16", PATH_LIST_FORWARD, 1 << 2, 1 << 1}, /* the backup is not needed */
	{"11.0.0.0/8", PATH_LIST_FORWARD, 1 << 6},
	/* Routes to all valid sources, so each ICMP error is sent. */
	{"64.0.0.0/2", PATH_LIST_FORWARD, 1 << 6},
	{"128.0.0.0/1", PATH_LIST_FORWARD, 1 << 6},
	{"::/3", PATH_LIST_FORWARD, 1 << 6},
	{"4000::/2", PATH_LIST_FORWARD, 1 << 6},
	{"8000::/1", PATH_LIST_FORWARD, 1 << 6},
	{"2001:db8:99::/48", PATH_LIST_FORWARD, 1 << 6},
	{"2001:db8:1::/48", PATH_LIST_FORWARD, 1 << 2},
	{"2001:db8:1:8000::/49", PATH_LIST_FORWARD, 1 << 1},
	{"2001:db8:1:8000::7/128", PATH_LIST_FORWARD, 1 << 0}, /* IPv6 by an IPv4 next hop */
	{"2001:db8:2::/48", PATH_LIST_FORWARD, 1 << 0 | 1 << 1 | 1 << 2},
	{"2001:db8:3::/48", PATH_LIST_FORWARD, 1 << 3 | 1 << 4},
	{"2001:db8:4::/48", PATH_LIST_BLACKHOLE, 0},
	{"2001:db8:5::/48", PATH_LIST_GLEAN, 0},
	{"2001:db8:6::1/128", PATH_LIST_PUNT, 0},
	{"2001:db8:7::/48", PATH_LIST_FORWARD, 1 << 5},
	{"2001:db8:8::/48", PATH_LIST_FORWARD, 1 << 4 | 1 << 1},
	{"2001:db8:ffff::/48", PATH_LIST_FORWARD, 1 << 6},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static const uint8_t our_v4[4] = {192, 0, 2, 254};
static uint8_t our_v6[16];

static void
hop_mac(unsigned i, uint8_t mac[6])
{
	memcpy(mac, "\x02\x00\x00\x00\x00\x10", 6);
	mac[5] = (uint8_t)(mac[5] + i);
}

static void
set_routes(void)
{
	struct next_hop_id id[HOPS], chosen[HOPS];

	for (unsigned i = 0; i < HOPS; i++) {
		struct ip_addr a = lab_addr(hop[i].addr);
		uint8_t mac[6];

		hop_mac(i, mac);
		id[i] = lab_next_hop_at(&lab, &a, hop[i].port, hop[i].up ? mac : NULL, hop[i].mtu);
	}
	for (unsigned i = 0; i < ROUTES; i++) {
		unsigned n = 0, backups = 0;
		struct prefix p;

		for (unsigned h = 0; h < HOPS; h++)
			if (routes[i].hops & 1u << h)
				chosen[n++] = id[h];
		for (unsigned h = 0; h < HOPS; h++)
			if (routes[i].backups & 1u << h)
				chosen[n + backups++] = id[h];
		assert_int_equal(prefix_parse(routes[i].prefix, &p), 0);
		lab_route_backed(&lab, &p, routes[i].kind,
			routes[i].kind == PATH_LIST_GLEAN ? 1 : PORT_NONE, chosen, n + backups,
			backups);
	}
	lab_commit(&lab);
}

/* ---- the reference ---- */

static unsigned
get16(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

static uint16_t
sum16(const uint8_t *p, unsigned len, uint32_t sum)
{
	for (unsigned i = 0; i + 1 < len; i += 2)
		sum += get16(p + i);
	if (len & 1)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool
zeros(const uint8_t *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static bool
bad_v4(const uint8_t *a)
{
	return a[0] == 0 || a[0] == 127 || a[0] >= 224 || (a[0] == 169 && a[1] == 254);
}

static bool
bad_v6(const uint8_t *a)
{
	if (a[0] == 255)
		return true;
	if (zeros(a, 15) && a[15] <= 1)
		return true;
	return zeros(a, 10) && a[10] == 255 && a[11] == 255;
}

static bool
link_local(const uint8_t *a)
{
	return a[0] == 0xfe && a[1] >= 0x80 && a[1] <= 0xbf;
}

/* RFC 791 3.1: a source route among the options, up to the first impossible length. */
static bool
routed_v4(const uint8_t *ip)
{
	const uint8_t *o = ip + 20, *end = ip + ip[0] % 16 * 4;

	while (o < end && *o != 0) {
		if (*o == 131 || *o == 137)
			return true;
		if (*o == 1)
			o++;
		else if (end - o < 2 || o[1] < 2)
			return false;
		else
			o += o[1];
	}
	return false;
}

/* RFC 5095: a routing header of type 0 before other headers. */
static bool
routed_v6(const uint8_t *ip, unsigned len)
{
	unsigned next = ip[6], at = 40;

	for (unsigned n = 0; n < 8 && (next == 0 || next == 43 || next == 60); n++) {
		if (at + 8 > len)
			return false;
		if (next == 43 && ip[at + 2] == 0)
			return true;
		next = ip[at];
		at += (ip[at + 1] + 1u) * 8;
	}
	return false;
}

/* Checks the headers only. */
static enum drop_reason
check_headers(const struct lab_frame *f)
{
	const uint8_t *ip = f->b + 14;
	unsigned len = f->len - 14;

	if (f->len < 14)
		return DROP_too_short;
	if (!(f->b[0] & 1) && memcmp(f->b, in_mac, 6) != 0)
		return DROP_other_host;
	if (get16(f->b + 12) == 0x0800) {
		if (len < 20)
			return DROP_too_short;
		if (ip[0] / 16 != 4)
			return DROP_bad_version;
		if (ip[0] % 16 < 5 || ip[0] % 16 * 4u > len)
			return DROP_bad_header_length;
		if (sum16(ip, ip[0] % 16 * 4u, 0) != 0xffff)
			return DROP_bad_checksum;
		if (get16(ip + 2) < ip[0] % 16 * 4u || get16(ip + 2) > len)
			return DROP_too_short;
		if (bad_v4(ip + 12))
			return DROP_bad_source;
		if (bad_v4(ip + 16))
			return DROP_bad_destination;
		if (!LAB_SOURCE_ROUTES && routed_v4(ip))
			return DROP_source_route;
	} else if (get16(f->b + 12) == 0x86dd) {
		if (len < 40)
			return DROP_too_short;
		if (ip[0] / 16 != 6)
			return DROP_bad_version;
		if (get16(ip + 4) + 40 > len)
			return DROP_bad_payload_length;
		if (bad_v6(ip + 8))
			return DROP_bad_source;
		if (bad_v6(ip + 24))
			return DROP_bad_destination;
		if (!LAB_SOURCE_ROUTES && routed_v6(ip, len))
			return DROP_source_route;
		if (link_local(ip + 8) || link_local(ip + 24))
			return DROP_link_scope;
	} else {
		return get16(f->b + 12) == 0x8847 ? DROP_mpls_port : DROP_not_ipv4;
	}
	return f->b[0] & 1 ? DROP_link_broadcast : DROP_COUNT;
}

static const struct route *
longest(const struct ip_addr *a)
{
	const struct route *best = NULL;
	int len = -1;

	for (unsigned i = 0; i < ROUTES; i++) {
		struct prefix p;

		assert_int_equal(prefix_parse(routes[i].prefix, &p), 0);
		if (p.len > len && prefix_contains(&p, a)) {
			best = &routes[i];
			len = p.len;
		}
	}
	return best;
}

struct verdict {
	enum drop_reason reason; /* DROP_COUNT: forwarded */
	unsigned hops; /* bit mask of the possible hops */
	bool v6;
	unsigned ip_len;
	unsigned mtu;
};

static struct verdict
outcome_of(const struct lab_frame *f)
{
	struct verdict v = {.reason = check_headers(f)};
	struct ip_addr to = {.afi = AFI_IPV4};
	const uint8_t *ip = f->b + 14;
	const struct route *r;

	if (v.reason != DROP_COUNT)
		return v;
	v.v6 = ip[0] / 16 == 6;
	if (v.v6) {
		to.afi = AFI_IPV6;
		memcpy(to.b, ip + 24, 16);
		v.ip_len = 40 + get16(ip + 4);
	} else {
		memcpy(to.b, ip + 16, 4);
		v.ip_len = get16(ip + 2);
	}
	r = longest(&to);
	v.reason = r == NULL			    ? DROP_no_route
		   : r->kind == PATH_LIST_BLACKHOLE ? DROP_blackhole
		   : r->kind == PATH_LIST_PUNT	    ? DROP_local_loop
						    : DROP_unresolved;
	if (r == NULL || r->kind != PATH_LIST_FORWARD)
		return v;
	for (unsigned h = 0; h < HOPS; h++) {
		if (!(r->hops & 1u << h) || !hop[h].up)
			continue;
		v.hops |= 1u << h;
		v.mtu = hop[h].mtu; /* hops with different MTUs are never alternatives */
	}
	for (unsigned h = 0; h < HOPS && v.hops == 0; h++) {
		if (!(r->backups & 1u << h) || !hop[h].up)
			continue;
		v.hops = 1u << h;
		v.mtu = hop[h].mtu;
	}
	if (v.hops == 0)
		return v;
	v.reason = ip[v.v6 ? 7 : 8] <= 1			? DROP_ttl_expired
		   : v.ip_len > v.mtu && (v.v6 || ip[6] & 0x40) ? DROP_too_big
								: DROP_COUNT;
	return v;
}

/* ---- flows ---- */

struct flow {
	uint8_t key[40];
	int hop; /* -1: unused */
};
#define FLOWS 65536
static struct flow flows[FLOWS];

static bool
ports_begin(uint8_t protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132 || protocol == 33 ||
	       protocol == 136;
}

/*
 * Finds the flow: all packets of a flow must take one path. The key is the five-tuple if visible.
 */
static struct flow *
flow_of(const uint8_t *ip, unsigned ip_len)
{
	uint8_t key[40] = {ip[0] / 16};
	uint64_t h = 0, w;

	if (key[0] == 4) {
		unsigned header = ip[0] % 16 * 4u;

		memcpy(key + 1, ip + 12, 8);
		key[33] = ip[9];
		if (!(get16(ip + 6) & 0x3fff) && ports_begin(ip[9]) && ip_len >= header + 4)
			memcpy(key + 34, ip + header, 4);
	} else {
		memcpy(key + 1, ip + 8, 32);
		if (ports_begin(ip[6]) && ip_len >= 44) {
			key[33] = ip[6];
			memcpy(key + 34, ip + 40, 4);
		} else {
			memcpy(key + 34, ip, 4);
			key[34] = 0;
			key[35] &= 15;
		}
	}
	for (unsigned i = 0; i < 40; i += 8) {
		memcpy(&w, key + i, 8);
		h = hash_mix(h ^ w);
	}
	for (unsigned i = 0; i < FLOWS; i++) {
		struct flow *f = &flows[(h + i) % FLOWS];

		if (f->hop < 0)
			memcpy(f->key, key, 40);
		if (memcmp(f->key, key, 40) == 0)
			return f;
	}
	fail_msg("too many flows");
	return NULL;
}

/* ---- ICMP ---- */

static bool
icmp_wanted(const struct lab_frame *f, const struct verdict *v)
{
	const uint8_t *ip = f->b + 14;
	unsigned at = 40, next = ip[6];

	if (v->reason != DROP_ttl_expired && v->reason != DROP_too_big &&
		v->reason != DROP_no_route)
		return false;
	if (!v->v6) {
		unsigned header = ip[0] % 16 * 4u;
		static const uint8_t queries[] = {0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43};

		if (get16(ip + 6) & 0x1fff)
			return false;
		if (v->reason == DROP_too_big && !(ip[6] & 0x40))
			return false;
		return ip[9] != 1 ||
		       (header < v->ip_len && memchr(queries, ip[header], sizeof(queries)) != NULL);
	}
	for (unsigned i = 0; i < 8; i++) {
		bool fragment = next == 44;

		if (next == 58)
			return at < v->ip_len && ip[at] >= 128 && ip[at] != 137;
		if (next != 0 && next != 43 && next != 60 && !fragment)
			return true;
		if (at + 8 > v->ip_len)
			return false;
		if (fragment && get16(ip + at + 2) / 8 != 0)
			return true;
		next = ip[at];
		at += fragment ? 8 : (ip[at + 1] + 1u) * 8;
	}
	return false;
}

/*
 * Makes the whole expected frame except for the Ethernet addresses, which depend on the route to
 * the sender.
 */
static void
icmp_expect(const struct lab_frame *f, const struct verdict *v, struct lab_frame *out)
{
	const uint8_t *ip = f->b + 14;
	unsigned head = v->v6 ? 48 : 28, most = v->v6 ? 1280 : 576;
	unsigned len = v->ip_len + head < most ? v->ip_len + head : most;
	uint8_t *o = out->b + 14, *icmp = o + head - 8;
	uint16_t sum;

	memset(out, 0, sizeof(*out));
	out->len = 14 + len;
	memcpy(icmp + 8, ip, len - head);
	if (v->reason == DROP_too_big)
		lab_set32(icmp + 4, v->mtu);
	if (v->v6) {
		memcpy(out->b + 12, "\x86\xdd", 2);
		memcpy(o, "\x6c\x00\x00\x00", 4);
		o[4] = (uint8_t)((len - 40) >> 8);
		o[5] = (uint8_t)(len - 40);
		o[6] = 58;
		o[7] = 64;
		memcpy(o + 8, our_v6, 16);
		memcpy(o + 24, ip + 8, 16);
		icmp[0] = v->reason == DROP_ttl_expired ? 3 : v->reason == DROP_too_big ? 2 : 1;
		sum = sum16(o + 8, 32, len - 40 + 58);
		sum = (uint16_t)~sum16(icmp, len - 40, sum);
	} else {
		memcpy(out->b + 12, "\x08\x00", 2);
		memcpy(o, "\x45\xc0", 2);
		o[2] = (uint8_t)(len >> 8);
		o[3] = (uint8_t)len;
		o[6] = 0x40;
		o[8] = 64;
		o[9] = 1;
		memcpy(o + 12, our_v4, 4);
		memcpy(o + 16, ip + 12, 4);
		lab_fix_checksum(out);
		icmp[0] = v->reason == DROP_ttl_expired ? 11 : 3;
		icmp[1] = v->reason == DROP_too_big ? 4 : 0;
		sum = (uint16_t)~sum16(icmp, len - 20, 0);
	}
	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
}

/* ---- the mix ---- */

static void
random_v4(uint8_t a[4])
{
	static const uint8_t specials[][4] = {{127, 0, 0, 1}, {0, 1, 2, 3}, {224, 0, 0, 5},
		{240, 0, 0, 1}, {255, 255, 255, 255}, {169, 254, 1, 1}, {203, 0, 113, 1},
		{126, 255, 255, 255}, {223, 255, 255, 255}, {169, 253, 255, 255}};

	memcpy(a, specials[lab_below(&seed, sizeof(specials) / sizeof(specials[0]))], 4);
}

static void
random_v6(uint8_t a[16])
{
	static const char *const specials[] = {"::", "::1", "::2", "fe80::1", "febf:ffff::1",
		"fec0::1", "fe7f::1", "ff02::1", "ff0e::1", "::ffff:192.0.2.1", "::fffe:c000:201",
		"::192.0.2.1", "1::ffff:192.0.2.1", "2001:db8:99::1", "fd00::1"};
	struct ip_addr s =
		lab_addr(specials[lab_below(&seed, sizeof(specials) / sizeof(specials[0]))]);

	memcpy(a, s.b, 16);
}

static uint8_t
random_ttl(void)
{
	return (uint8_t)(lab_below(&seed, 8) == 0 ? lab_below(&seed, 3)
						  : 2 + lab_below(&seed, 254));
}

static void
random_transport(uint8_t *p, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)lab_random(&seed);
	/* few ports, so flows repeat; for ICMP: a known type */
	if (len >= 4)
		memcpy(p,
			(uint8_t[]){(uint8_t)lab_below(&seed, 20), (uint8_t)lab_below(&seed, 4), 0,
				(uint8_t)lab_below(&seed, 8)},
			4);
	if (len >= 1 && lab_below(&seed, 4) == 0)
		p[0] = (uint8_t)(126 + lab_below(&seed, 14));
}

/* Replaces no-operations by other options: record route, source routes, router alert, random bytes. */
static void
make_options(uint8_t *o, unsigned len)
{
	static const uint8_t types[] = {7, 131, 137, 148, 68, 0x83 ^ 0x40};

	while (len >= 4 && lab_below(&seed, 3) != 0) {
		unsigned size = 4 + 4 * lab_below(&seed, len / 4);

		o[0] = types[lab_below(&seed, sizeof(types))];
		o[1] = (uint8_t)(lab_below(&seed, 16) == 0 ? lab_random(&seed)
							   : size - lab_below(&seed, 2));
		o[2] = 4;
		o += size;
		len -= size;
	}
}

static void
make_v4(struct lab_frame *f)
{
	static const uint8_t protocols[] = {17, 17, 6, 1, 1, 132, 47, 33};
	unsigned payload = lab_below(&seed, 4) == 0 ? lab_below(&seed, 1400) : lab_below(&seed, 40);

	lab_udp(f, in_mac, IP(11, 0, lab_below(&seed, 3), lab_below(&seed, 8)),
		IP(10, 1 + lab_below(&seed, 11), lab_below(&seed, 2) * 128, lab_below(&seed, 16)),
		random_ttl(), lab_below(&seed, 4) == 0 ? lab_below(&seed, 11) : 0, payload, &seed);
	f->b[23] = protocols[lab_below(&seed, sizeof(protocols))];
	f->b[20] = (uint8_t)(lab_below(&seed, 2) * 0x40);
	if (lab_below(&seed, 6) == 0) {
		f->b[20] = (uint8_t)(lab_below(&seed, 4) * 0x20);
		f->b[21] = (uint8_t)lab_below(&seed, 3);
	}
	if (payload > 600 &&
		lab_below(&seed, 2) == 0) { /* ends close to 65,535 octets, or beyond */
		f->b[20] = 0x1f;
		f->b[21] = (uint8_t)(0x40 + lab_below(&seed, 0xc0));
	}
	random_transport(f->b + 14 + (f->b[14] & 15) * 4, 8 + payload);
	make_options(f->b + 34, (f->b[14] & 15) * 4u - 20);
	lab_fix_checksum(f);
}

/* Adds extension headers before the transport header; `room` bytes follow the IPv6 header. */
static void
make_extensions(struct lab_frame *f, unsigned room)
{
	static const uint8_t extension[] = {0, 43, 60, 44, 44};
	static const uint8_t transport[] = {17, 17, 6, 58, 58, 59, 132, 50};
	uint8_t *next = &f->b[20], *at = f->b + 54;
	unsigned count = lab_below(&seed, 3) == 0 ? lab_below(&seed, 10) : 0;

	while (count-- > 0 && room >= 8) {
		uint8_t type = extension[lab_below(&seed, sizeof(extension))];
		unsigned len = type == 44 || room < 16 ? 8 : 8 + lab_below(&seed, 2) * 8;

		*next = type;
		for (unsigned i = 0; i < len; i++)
			at[i] = (uint8_t)lab_random(&seed);
		at[1] = (uint8_t)(len / 8 - 1);
		at[2] &= lab_below(&seed, 3) == 0 ? 0 : 0xff; /* a routing header of type 0 */
		if (type == 44) {
			at[1] = 0;
			at[2] = 0;
			at[3] = (uint8_t)(lab_below(&seed, 3) *
					  4); /* MF is bit 0; 8: the second fragment */
		}
		next = at;
		at += len;
		room -= len;
	}
	*next = transport[lab_below(&seed, sizeof(transport))];
	random_transport(at, room);
}

static void
make_v6(struct lab_frame *f)
{
	struct ip_addr src = lab_addr("2001:db8:ffff::1"), dst = lab_addr("2001:db8:1::");
	unsigned payload = lab_below(&seed, 4) == 0 ? lab_below(&seed, 1400) : lab_below(&seed, 60);

	src.b[15] = (uint8_t)lab_below(&seed, 24);
	dst.b[5] = (uint8_t)(1 + lab_below(&seed, 10));
	dst.b[6] = (uint8_t)(lab_below(&seed, 2) * 0x80);
	dst.b[15] = (uint8_t)lab_below(&seed, 16);
	lab_udp6(f, in_mac, src.b, dst.b, random_ttl(), payload, &seed);
	f->b[14] = 0x60;
	f->b[15] = f->b[16] = 0;
	f->b[17] = (uint8_t)lab_below(&seed, 4); /* flow label */
	make_extensions(f, 8 + payload);
}

static void
mutate(struct lab_frame *f)
{
	bool v6 = f->b[12] == 0x86;
	unsigned i;

	switch (lab_below(&seed, 12)) {
	case 0:
		f->len = 1 + lab_below(&seed, f->len);
		break;
	case 1: /* padding */
		i = f->len + lab_below(&seed, 20);
		memset(f->b + f->len, 0xee, i - f->len);
		f->len = i;
		break;
	case 2:
	case 3:
		i = lab_below(&seed, f->len < 60 ? f->len : 60);
		if (v6 ? i >= 22 && i < 38 : i >= 26 && i < 30)
			break;
		f->b[i] ^= (uint8_t)(1u << lab_below(&seed, 8));
		break;
	case 4:
	case 5:
		v6 ? random_v6(f->b + 22) : random_v4(f->b + 26);
		break;
	case 6:
	case 7:
		v6 ? random_v6(f->b + 38) : random_v4(f->b + 30);
		break;
	case 8:
		memset(f->b, lab_below(&seed, 2) ? 0xff : 0x33, 6);
		break;
	case 9:
		f->b[5] ^= 1;
		break;
	case 10: /* EtherType of the other family, or of neither */
		memcpy(f->b + 12,
			lab_below(&seed, 2) ? "\x88\x47"
			: v6		    ? "\x08\x00"
					    : "\x86\xdd",
			2);
		break;
	default: /* the length field */
		i = v6 ? 18 : 16;
		f->b[i] = (uint8_t)(lab_below(&seed, 3) == 0 ? lab_below(&seed, 8) : f->b[i]);
		f->b[i + 1] = (uint8_t)lab_random(&seed);
		break;
	}
	if (f->len >= 34 && f->b[12] == 0x08 && (f->b[14] & 15) * 4u + 14 <= f->len &&
		lab_below(&seed, 8) != 0)
		lab_fix_checksum(f);
}

/* ---- expected and actual packets ---- */

struct expected {
	struct lab_frame frame; /* as sent, without Ethernet addresses */
	unsigned hops;
	bool v6;
};
static struct expected *forwarded;
static unsigned forwarded_count; /* frames */
static unsigned whole_count; /* packets */
static unsigned fragment_count;
static struct lab_frame *errors;
static bool *error_seen;
static unsigned error_count;
static uint64_t drops[DROP_COUNT];

/*
 * RFC 791 3.2, an octet at a time: options without the flag "copied" are only in the first fragment.
 * No-operations are not copied.
 */
static void
expect_fragments(struct lab_frame f, const struct verdict *v)
{
	const uint8_t *ip = f.b + 14;
	unsigned header = ip[0] % 16 * 4u, next = header, first = get16(ip + 6);

	for (bool later = false; next < v->ip_len; later = true) {
		struct expected *e = &forwarded[forwarded_count++];
		uint8_t *o = e->frame.b + 14;
		unsigned at = 0, n = 20, room, begin = next;

		*e = (struct expected){.hops = v->hops};
		memcpy(e->frame.b, f.b, 34);
		while (!later && n < header) {
			o[n] = ip[n];
			n++;
		}
		for (at = 20; later && at < header && ip[at] != 0;) {
			unsigned len = ip[at] == 1 ? 1 : at + 1 < header ? ip[at + 1] : 0;

			if (ip[at] != 1 && (len < 2 || at + len > header))
				break;
			for (unsigned k = 0; k < len && ip[at] >= 128; k++)
				o[n++] = ip[at + k];
			at += len;
		}
		n = (n + 3) / 4 * 4;
		room = (v->mtu - n) / 8 * 8;
		if (room > v->ip_len - next)
			room = v->ip_len - next;
		memcpy(o + n, ip + next, room);
		next += room;
		o[0] = (uint8_t)(0x40 + n / 4);
		o[2] = (uint8_t)((n + room) >> 8);
		o[3] = (uint8_t)(n + room);
		first = get16(ip + 6) + (begin - header) / 8;
		if (next < v->ip_len)
			first |= 0x2000;
		o[6] = (uint8_t)(first >> 8);
		o[7] = (uint8_t)first;
		e->frame.len = 14 + n + room;
		lab_fix_checksum(&e->frame);
		fragment_count++;
	}
}

static void
expect(const struct lab_frame *f)
{
	struct verdict v = outcome_of(f);
	struct expected *e = &forwarded[forwarded_count];

	if (v.reason != DROP_COUNT) {
		drops[v.reason]++;
		if (icmp_wanted(f, &v))
			icmp_expect(f, &v, &errors[error_count++]);
		return;
	}
	/* RFC 791 3.1: an offset has 13 bits */
	if (v.ip_len > v.mtu && get16(f->b + 20) % 8192 * 8 + v.ip_len > 65535) {
		drops[DROP_fragment_end]++;
		return;
	}
	e->frame = *f;
	e->frame.len = 14 + v.ip_len;
	e->hops = v.hops;
	e->v6 = v.v6;
	e->frame.b[v.v6 ? 21 : 22]--;
	if (!v.v6)
		lab_fix_checksum(&e->frame);
	whole_count++;
	if (v.ip_len > v.mtu)
		expect_fragments(e->frame, &v);
	else
		forwarded_count++;
}

/* Makes a frame of VLAN 0 with a priority. Frames without a whole header stay as they are. */
static void
tag(struct lab_frame *f)
{
	if (f->len < 14)
		return;
	memmove(f->b + 16, f->b + 12, f->len - 12);
	memcpy(f->b + 12, (uint8_t[]){0x81, 0, (uint8_t)(lab_below(&seed, 16) << 4), 0}, 4);
	f->len += 4;
}

static void
write_input(const char *path)
{
	FILE *f = pcap_create(path);

	assert_non_null(f);
	for (unsigned i = 0; i < packets; i++) {
		bool calm = (i >> 8) & 1; /* many bursts of IP packets only */
		struct lab_frame frame;

		/* runs of one family, and alternating bursts */
		if (lab_below(&seed, (i >> 9) & 1 ? 40 : 2) == 0)
			make_v4(&frame);
		else
			make_v6(&frame);
		if (lab_below(&seed, calm ? 60 : 3) == 0)
			mutate(&frame);
		expect(&frame);
		if (lab_below(&seed, calm ? 1000 : 50) == 0)
			tag(&frame);
		pcap_put(f, frame.b, frame.len);
	}
	assert_int_equal(fclose(f), 0);
}

static bool
all_seen(void *ctx)
{
	(void)ctx;
	return lab_seen() == packets;
}

struct output {
	FILE *f;
	struct lab_frame next[2]; /* by family; len 0: none read */
	struct lab_frame *kept[2];
	unsigned count[2], at[2];
};
static struct output output[OUT_PORTS];
static uint8_t out_mac[OUT_PORTS][6];

static bool
is_error(const struct lab_frame *f)
{
	return f->b[12] == 0x08 ? memcmp(f->b + 26, our_v4, 4) == 0
				: memcmp(f->b + 22, our_v6, 16) == 0;
}

static void
take_error(struct lab_frame *got, unsigned port)
{
	uint8_t mac[6];

	hop_mac(6, mac);
	assert_int_equal(port, 1);
	assert_memory_equal(got->b, mac, 6);
	assert_memory_equal(got->b + 6, out_mac[0], 6);
	memset(got->b, 0, 12);
	for (unsigned i = 0; i < error_count; i++)
		if (!error_seen[i] && errors[i].len == got->len &&
			memcmp(errors[i].b, got->b, got->len) == 0) {
			error_seen[i] = true;
			return;
		}
	for (unsigned i = 0; i < got->len && i < 120; i++)
		fprintf(stderr, "%02x%s", got->b[i], i % 16 == 15 ? "\n" : " ");
	fail_msg("seed: an ICMP error of %u bytes that nobody expects", got->len);
}

/* Splits a port's output by family; compares ICMP errors at once. */
static unsigned
read_output(const char *path, unsigned port)
{
	struct output *o = &output[port - 1];
	unsigned found = 0;
	uint8_t b[2048];
	FILE *f = pcap_open(path);
	int len;

	assert_non_null(f);
	for (unsigned v6 = 0; v6 < 2; v6++)
		o->kept[v6] = malloc(2 * packets * sizeof(struct lab_frame));
	while ((len = pcap_next(f, b, sizeof(b))) >= 0) {
		bool v6 = b[12] == 0x86;
		struct lab_frame *to = &o->kept[v6][o->count[v6]];

		assert_in_range(len, 34, sizeof(to->b));
		memcpy(to->b, b, (size_t)len);
		to->len = (unsigned)len;
		if (is_error(to)) {
			take_error(to, port);
			found++;
		} else {
			o->count[v6]++;
		}
	}
	fclose(f);
	return found;
}

/* Compares with the next packet of the family on each possible port. Returns the hop used. */
static int
match(const struct expected *e)
{
	for (unsigned h = 0; h < HOPS; h++) {
		struct output *o = &output[hop[h].port - 1];
		const struct lab_frame *got = &o->kept[e->v6][o->at[e->v6]];
		uint8_t mac[6];

		hop_mac(h, mac);
		if (!(e->hops & 1u << h) || o->at[e->v6] == o->count[e->v6] ||
			memcmp(got->b, mac, 6) != 0 || got->len != e->frame.len ||
			memcmp(got->b + 12, e->frame.b + 12, got->len - 12) != 0)
			continue;
		assert_memory_equal(got->b + 6, out_mac[hop[h].port - 1], 6);
		o->at[e->v6]++;
		return (int)h;
	}
	return -1;
}

static void
compare_forwarded(void)
{
	unsigned by[2][HOPS] = {{0}};

	for (unsigned i = 0; i < forwarded_count; i++) {
		struct expected *e = &forwarded[i];
		struct flow *f = flow_of(e->frame.b + 14, e->frame.len - 14);
		int h = match(e);

		if (h < 0)
			fail_msg("forwarded packet %u of %u is not there", i, forwarded_count);
		if (e->hops & (e->hops - 1)) {
			if (f->hop >= 0 && f->hop != h)
				fail_msg("forwarded packet %u: its flow went by hop %d, it by %d",
					i, f->hop, h);
			by[e->v6][h]++;
		}
		f->hop = h;
	}
	for (unsigned p = 0; p < OUT_PORTS; p++)
		for (unsigned v6 = 0; v6 < 2; v6++)
			assert_int_equal(output[p].at[v6], output[p].count[v6]);
	/* Three equal-cost paths: each gets at least a fifth. */
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned h = 0; h < 3; h++)
			assert_true(by[v6][h] * 5 > by[v6][0] + by[v6][1] + by[v6][2]);
}

static void
compare_drops(void)
{
	for (unsigned i = 0; i < DROP_COUNT; i++)
		if (i != DROP_icmp_limited && lab_lost((enum drop_reason)i) != drops[i])
			fail_msg("dropped for %s: %lu, expected %lu",
				drop_reason_text((enum drop_reason)i),
				(unsigned long)lab_lost((enum drop_reason)i),
				(unsigned long)drops[i]);
	for (unsigned i = 0; i < DROP_tx_full; i++)
		if (drops[i] == 0 && i != DROP_icmp_limited && i != DROP_inject_full &&
			i != DROP_no_buffer && i != DROP_too_long /* test_wire_conformance.py */ &&
			i != DROP_neighbor_queue /* test_resolve.c */ && i != DROP_own_source &&
			i != DROP_vlan_stripped /* test_bursts.c */ && i != DROP_host_policed &&
			i != DROP_host_full /* test_host_path.c */ &&
			!(LAB_SOURCE_ROUTES && i == DROP_source_route) &&
			!(i >= DROP_mpls_port && i <= DROP_udp_checksum)) /* test_mpls.c */
			fail_msg("the mix has nothing for %s",
				drop_reason_text((enum drop_reason)i));
}

/* Both families, for next hops and for destinations on the subnet. */
static void
check_gleans(void)
{
	static struct glean g[4096];
	unsigned n, kind[4] = {0};

	role_enter_host();
	n = worker_gleans(g, 4096);
	for (unsigned i = 0; i < n; i++) {
		struct ip_addr v4 = lab_addr(hop[3].addr), v6 = lab_addr(hop[4].addr);
		bool is_hop = addr_equal(&g[i].addr, &v4) || addr_equal(&g[i].addr, &v6);

		kind[(g[i].addr.afi == AFI_IPV6) + 2 * is_hop]++;
		if (addr_equal(&g[i].addr, &v6))
			assert_int_equal(g[i].port, 2);
		else
			assert_int_equal(g[i].port, 1);
		if (!is_hop && g[i].addr.afi == AFI_IPV4)
			assert_memory_equal(g[i].addr.b, "\x0a\x05", 2);
		if (!is_hop && g[i].addr.afi == AFI_IPV6)
			assert_memory_equal(g[i].addr.b, "\x20\x01\x0d\xb8\x00\x05", 6);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_true(kind[i] > 0);
}

static void
set_sources(uint16_t port)
{
	struct ip_addr v4 = lab_addr("192.0.2.254"), v6 = lab_addr("2001:db8:a::fe");

	role_enter_host();
	memcpy(our_v6, v6.b, 16);
	port_icmp_source_set(port, AFI_IPV4, &v4);
	port_icmp_source_set(port, AFI_IPV6, &v6);
}

static bool
all_told(void *ctx)
{
	(void)ctx;
	return worker_stats(0)->originated + lab_drops(DROP_icmp_limited) >= error_count;
}

static uint64_t originated;

static void
check_stats(void)
{
	const struct worker_stats *s = worker_stats(0);

	originated = s->originated;
	assert_int_equal(s->forwarded, whole_count);
	assert_int_equal(s->fragments, fragment_count);
	assert_true(fragment_count >= packets / 1000);
	assert_int_equal(s->icmp_errors, originated);
	assert_int_equal(originated + lab_drops(DROP_icmp_limited), error_count);
	assert_true(originated > 50);
}

static void
test_mix(void **state)
{
	char in[64], out[OUT_PORTS][64], device[200];
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++)
		flows[i].hop = -1;
	forwarded = calloc(packets * 2, sizeof(*forwarded));
	errors = calloc(packets, sizeof(*errors));
	error_seen = calloc(packets, sizeof(*error_seen));
	assert_true(forwarded != NULL && errors != NULL && error_seen != NULL);
	lab_eal_up(directory, 64);
	lab_port("null", "net_null0,no-rx=1");
	for (unsigned i = 0; i < OUT_PORTS; i++) {
		char name[8];

		snprintf(out[i], sizeof(out[i]), "%s/out%u.pcap", directory, i);
		snprintf(device, sizeof(device), "net_pcap%u,tx_pcap=%s", i, out[i]);
		snprintf(name, sizeof(name), "out%u", i);
		port_mac(lab_port(name, device), out_mac[i]);
	}
	set_sources(3);
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	write_input(in);
	snprintf(device, sizeof(device), "net_pcap2,rx_pcap=%s", in);
	lab_port("in", device);
	uint8_t mac[6];
	port_mac(3, mac);
	assert_memory_equal(mac, in_mac, 6);
	lab_fib_up(&lab);
	set_routes();
	lab_workers_up(&lab);
	if (!lab_wait(all_seen, NULL, 300)) {
		compare_drops();
		fail_msg("not all were seen");
	}
	/*
	 * ICMP errors about the last burst are sent after the burst; check_stats() reports missing
	 * errors.
	 */
	(void)lab_wait(all_told, NULL, 60);
	compare_drops();
	check_gleans();
	check_stats();
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	for (unsigned i = 0; i < OUT_PORTS; i++)
		found += read_output(out[i], i + 1);
	assert_int_equal(found, originated);
	compare_forwarded();
	unlink(in);
	for (unsigned i = 0; i < OUT_PORTS; i++) {
		unlink(out[i]);
		free(output[i].kept[0]);
		free(output[i].kept[1]);
	}
	free(forwarded);
	free(errors);
	free(error_seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mix)};
	int failed;

	if (!cpu_has_level())
		return 77;
	role_enter_main();
	seed = test_setting("KEEL_SEED", 20261121);
	packets = (unsigned)test_setting("KEEL_PACKETS", 20000);
	if (packets > PACKETS_MAX)
		packets = PACKETS_MAX;
	print_message("seed %lu, %u packets\n", (unsigned long)seed, packets);
	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
