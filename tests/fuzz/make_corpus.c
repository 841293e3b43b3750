/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the kept corpus with Keel's encoders: make_corpus DIRECTORY, with a folder for each row
 * of targets.h. Run by hand after an encoder gains a feature. The output is deterministic.
 */
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <sys/stat.h>

static const char *directory;

/* `first`: an octet of options before the message, or -1. */
static void
keep(const char *target, const char *name, int first, const uint8_t *msg, size_t len)
{
	char path[4096];
	FILE *f;

	HARNESS_CHECK(len > 0);
	snprintf(path, sizeof(path), "%s/%s", directory, target);
	HARNESS_CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
	f = fopen(path, "wb");
	HARNESS_CHECK(f);
	if (first >= 0)
		fputc(first, f);
	HARNESS_CHECK(fwrite(msg, 1, len, f) == len);
	HARNESS_CHECK(fclose(f) == 0);
}

/* Keeps an UPDATE in three forms: UPDATE, message, attributes only. */
static void
keep_update(const char *name, int first, const uint8_t *msg, size_t len)
{
	size_t attrs = BGP_HEADER_LEN + 4;

	HARNESS_CHECK(len >= attrs);
	attrs += rule_u16(msg + BGP_HEADER_LEN);
	keep("update", name, first, msg, len);
	keep("message", name, first, msg, len);
	if (rule_u16(msg + attrs - 2) > 0)
		keep("attribute", name, first, msg + attrs, rule_u16(msg + attrs - 2));
}

static void
opens(void)
{
	struct bgp_open_options o = {.asn = 65001, .identifier = 0x0a000001, .hold_time_s = 90};
	uint8_t buf[BGP_MSG_MAX];
	size_t len;

	keep("open", "plain", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.families = 1u << FAMILY_IPV4_UNICAST;
	o.route_refresh = o.enhanced_route_refresh = o.four_octet_as = o.graceful_restart = true;
	o.asn = 4200000001;
	keep("open", "usual", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.families = 0x0f;
	o.extended_message = o.restart_notification = true;
	keep("open", "all", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	len = bgp_open_encode(&o, buf, sizeof(buf));
	keep("header", "open", -1, buf, len);
	keep("message", "open", 0, buf, len);
	o.extended_next_hop = o.restart_families = 0x0f;
	o.forwarding_families = 0x05;
	o.restart_time_s = 120;
	o.restart_state = true;
	keep("open", "restarting", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.labels_max[FAMILY_VPNV4_UNICAST] = 6;
	o.labels_max[FAMILY_VPNV6_UNICAST] = 2;
	keep("open", "labels", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
}

static void
small_messages(void)
{
	uint8_t buf[BGP_MSG_MAX];

	keep("header", "keepalive", -1, buf, bgp_keepalive_encode(buf, sizeof(buf)));
	keep("notification", "hold-timer", -1, buf,
		bgp_notification_encode(ERR_HOLD_TIMER, 0, NULL, 0, buf, sizeof(buf)));
	keep("notification", "administrative-reset", -1, buf,
		bgp_cease_encode(CEASE_ADMIN_RESET, "maintenance", buf, sizeof(buf)));
	keep("notification", "hard-reset", -1, buf,
		bgp_notification_encode(ERR_CEASE, CEASE_HARD_RESET,
			(const uint8_t *)"\x06\x04\x03tea", 6, buf, sizeof(buf)));
	keep("refresh", "request", -1, buf,
		bgp_refresh_encode(FAMILY_IPV4_UNICAST, REFRESH_REQUEST, buf, sizeof(buf)));
	keep("message", "refresh", 0, buf,
		bgp_refresh_encode(FAMILY_IPV4_UNICAST, REFRESH_REQUEST, buf, sizeof(buf)));
	keep("message", "notification", 0, buf,
		bgp_cease_encode(CEASE_ADMIN_SHUTDOWN, "maintenance", buf, sizeof(buf)));
	keep("refresh", "begin", -1, buf,
		bgp_refresh_encode(FAMILY_IPV6_UNICAST, REFRESH_BEGIN, buf, sizeof(buf)));
	keep("refresh", "end", -1, buf,
		bgp_refresh_encode(FAMILY_VPNV4_UNICAST, REFRESH_END, buf, sizeof(buf)));
}

/* Fills every attribute of a set. */
static void
fill(struct attr_set *a, enum family f)
{
	static const uint8_t path[] = {2, 3, 0, 0, 0xfd, 0xe9, 0xfa, 0x56, 0xea, 1, 0, 0, 0, 9, 1,
		2, 0, 0, 0, 7, 0xfa, 0x56, 0xea, 2};
	static const uint8_t rest[] = {0xfd, 0xe9, 0, 100, 0xff, 0xff, 0xff, 1,
		/* extended */ 0, 2, 0xfc, 0, 0, 0, 0, 1,
		/* large */ 0, 0, 0xfd, 0xe9, 0, 0, 0, 1, 0, 0, 0, 2,
		/* cluster list */ 10, 0, 0, 1, 10, 0, 0, 2,
		/* unknown */ 0xf0, 99, 0, 3, 1, 2, 3};

	memset(a, 0, sizeof(*a));
	a->has = ATTR_HAS_OTC * 2 - 1;
	a->med = 10;
	a->local_pref = 100;
	a->aggregator_asn = 4200000001;
	a->aggregator_addr = a->originator_id = 0x0a000001;
	a->otc = 65001;
	a->as_path_len = sizeof(path);
	a->community_count = 2;
	a->ext_community_count = a->large_community_count = 1;
	a->cluster_count = 2;
	a->unknown_len = 7;
	memcpy(a->var, path, sizeof(path));
	memcpy(a->var + sizeof(path), rest, sizeof(rest));
	attr_set_derive(a);
	HARNESS_CHECK(addr_parse(f == FAMILY_IPV4_UNICAST ? "192.0.2.9" : "2001:db8::9",
			      &a->next_hop) == 0);
	if (f == FAMILY_IPV6_UNICAST)
		HARNESS_CHECK(addr_parse("fe80::9", &a->next_hop_link_local) == 0);
}

static size_t
pack(enum family f, const struct attr_set *a, const struct bgp_encode_options *o, uint8_t *buf,
	size_t size)
{
	struct update_packer u;

	HARNESS_CHECK(update_packer_begin(&u, f, a, o, buf, size));
	for (uint8_t len = 0; len <= prefix_max_len(family_afi(f)); len += 8) {
		struct ip_addr addr = {.afi = (uint8_t)family_afi(f)};
		struct prefix p;

		for (uint8_t i = 0; i < (addr.afi == AFI_IPV4 ? 4 : 16); i++)
			addr.b[i] = (uint8_t)(0x21 + i);
		p = prefix_from_addr(&addr, len);
		HARNESS_CHECK(update_packer_add(&u, &p, len));
	}
	return update_packer_finish(&u);
}

/*
 * RFC 8950, RFC 2545 3: IPv4 with IPv6 next hops, and link-local next hops alone. Option bit 16
 * enables these (harness.h).
 */
static void
next_hops(void)
{
	static const struct {
		const char *name, *next_hop, *link_local;
		enum family f;
	} all[] = {
		{"ipv4-by-ipv6", "2001:db8::9", NULL, FAMILY_IPV4_UNICAST},
		{"ipv4-by-both", "2001:db8::9", "fe80::9", FAMILY_IPV4_UNICAST},
		{"ipv4-by-link-local", "::", "fe80::9", FAMILY_IPV4_UNICAST},
		{"ipv6-by-link-local", "::", "fe80::9", FAMILY_IPV6_UNICAST},
		{"ipv6-by-link-local-twice", "fe80::9", "fe80::9", FAMILY_IPV6_UNICAST},
		{"ipv6-by-link-local-alone", "fe80::9", NULL, FAMILY_IPV6_UNICAST},
	};
	struct bgp_encode_options o = {
		.as4 = true, .send_communities = true, .extended_next_hop = true};
	struct attr_set *a = (struct attr_set *)harness_room(0);
	uint8_t buf[BGP_MSG_MAX];

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		fill(a, all[i].f);
		memset(&a->next_hop_link_local, 0, sizeof(a->next_hop_link_local));
		HARNESS_CHECK(addr_parse(all[i].next_hop, &a->next_hop) == 0);
		if (all[i].link_local != NULL)
			HARNESS_CHECK(addr_parse(all[i].link_local, &a->next_hop_link_local) == 0);
		keep_update(all[i].name, 16, buf, pack(all[i].f, a, &o, buf, sizeof(buf)));
	}
}

static void
updates(void)
{
	struct attr_set *a = (struct attr_set *)harness_room(0);
	uint8_t buf[BGP_MSG_MAX];
	char name[64];

	for (enum family f = FAMILY_IPV4_UNICAST; f <= FAMILY_IPV6_UNICAST; f++) {
		for (unsigned bits = 0; bits < 4; bits++) {
			struct bgp_encode_options o = {
				.as4 = !(bits & 1), .add_path = bits & 2, .send_communities = true};
			int first = (int)(bits & 1) | (bits & 2 ? 64 : 0);

			fill(a, f);
			snprintf(name, sizeof(name), "%s%s%s",
				f == FAMILY_IPV4_UNICAST ? "ipv4" : "ipv6", o.as4 ? "" : "-as2",
				o.add_path ? "-add-path" : "");
			keep_update(name, first, buf, pack(f, a, &o, buf, sizeof(buf)));
			snprintf(name, sizeof(name), "withdraw-%s%s",
				f == FAMILY_IPV4_UNICAST ? "ipv4" : "ipv6",
				o.add_path ? "-add-path" : "");
			keep_update(name, first, buf, pack(f, NULL, &o, buf, sizeof(buf)));
		}
		keep_update(f == FAMILY_IPV4_UNICAST ? "end-of-rib-ipv4" : "end-of-rib-ipv6", 0,
			buf, bgp_end_of_rib_encode(f, buf, sizeof(buf)));
	}
	next_hops();
}

/* NLRI form for the octet of options at the start of an `nlri` input. */
static struct nlri_form
form_of(int bits)
{
	return (struct nlri_form){
		.afi = bits & 1 ? AFI_IPV6 : AFI_IPV4,
		.safi = bits & 8   ? SAFI_VPN
			: bits & 4 ? SAFI_LABELED_UNICAST
				   : SAFI_UNICAST,
		.add_path = bits & 2,
		.multiple_labels = bits & 16,
		.withdrawn = bits & 32,
	};
}

static void
write_field(struct wr *w, struct nlri_form form)
{
	static const uint8_t one[] = {0, 0x3e, 0x81}, two[] = {0, 0x3e, 0x80, 0, 0x7d, 0x01},
			     none[] = {0x80, 0, 0};
	bool several = form.multiple_labels && !form.withdrawn;

	for (uint8_t len = 0; len <= prefix_max_len((enum afi)form.afi); len += 12) {
		struct ip_addr addr = {.afi = form.afi, .b = {0x20, 1, 0x0d, 0xb8}};
		struct nlri n = {.prefix = prefix_from_addr(&addr, len),
			.path_id = len,
			.rd = {UINT64_C(0x0000fc0000000001)},
			.labels = form.withdrawn ? none
				  : several	 ? two
						 : one,
			.label_count = several ? 2 : 1};

		harness_nlri_write(w, form, &n);
	}
}

static void
form_name(char *name, size_t size, int bits)
{
	snprintf(name, size, "%s%s%s%s%s", bits & 1 ? "ipv6" : "ipv4",
		bits & 8   ? "-vpn"
		: bits & 4 ? "-labeled"
			   : "",
		bits & 16 ? "-labels" : "", bits & 2 ? "-add-path" : "",
		bits & 32 ? "-withdrawn" : "");
}

static void
fields(void)
{
	for (int bits = 0; bits < 64; bits++) {
		uint8_t buf[1024];
		struct wr w = wr_init(buf, sizeof(buf));
		char name[64];

		/* each kind of label once; mutations cover the rest */
		if ((bits & 12) == 12 || ((bits & 12) == 0 && bits > 3))
			continue;
		write_field(&w, form_of(bits));
		HARNESS_CHECK(!w.bad);
		form_name(name, sizeof(name), bits);
		keep("nlri", name, bits, buf, wr_len(&w));
	}
}

/* Text and octets of distinguishers and extended communities (rib/table/vpn.h). */
static void
vpn_values(void)
{
	static const struct {
		const char *name, *text;
	} all[] = {
		{"two-octet-as", "65000:4294967295"},
		{"address", "192.0.2.1:65535"},
		{"four-octet-as", "4200000000:1"},
		{"opaque", "0x0002000000010001"},
		{"target", "rt:64512:1"},
		{"origin", "soo:192.0.2.1:7"},
		{"target-four-octet-as", "rt:4200000000:65535"},
	};
	static const uint8_t octets[] = {0, 2, 0xfc, 0, 0, 0, 0, 1, 1, 3, 192, 0, 2, 1, 0, 7, 2, 2,
		0xfa, 0x56, 0xea, 0, 0, 1, 0x43, 0x0b, 0xaa, 0, 0, 0, 0, 0x64};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		keep("vpn", all[i].name, -1, (const uint8_t *)all[i].text, strlen(all[i].text));
	keep("vpn", "octets", -1, octets, sizeof(octets));
}

static void
begin_attribute(struct wr *w, struct nlri_form form)
{
	wr_u8(w, 0x90); /* optional, extended length */
	wr_u8(w, form.withdrawn ? 15 : 14);
	wr_u16(w, 0);
	wr_u16(w, form.afi);
	wr_u8(w, form.safi);
}

/* MP_REACH_NLRI or MP_UNREACH_NLRI for a family without encoder in Keel. */
static void
write_mp(struct wr *w, struct nlri_form form)
{
	static const uint8_t zero[8], next_hop[16] = {0x20, 1, 0x0d, 0xb8, [15] = 9};
	size_t address = form.afi == AFI_IPV6 ? 16 : 4, rd_len = form.safi == SAFI_VPN ? 8 : 0;
	uint8_t *start = w->p;
	size_t len;

	begin_attribute(w, form);
	if (!form.withdrawn) {
		wr_u8(w, (uint8_t)(rd_len + address));
		wr_bytes(w, zero, rd_len);
		wr_bytes(w, next_hop, address);
		wr_u8(w, 0);
	}
	write_field(w, form);
	HARNESS_CHECK(!w->bad);
	len = (size_t)(w->p - start) - 4;
	start[2] = (uint8_t)(len >> 8);
	start[3] = (uint8_t)len;
}

/*
 * VPN and labelled families (RFC 4364, 4659, 8277), with the options of harness_update_options().
 */
static void
labelled_updates(void)
{
	static const uint8_t rest[] = {0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 5,
		4, 0, 0, 0, 100, 0xc0, 16, 8, 0, 2, 0xfc, 0, 0, 0, 0, 1};

	for (int bits = 4; bits < 64; bits++) {
		uint8_t buf[BGP_MSG_MAX];
		struct wr w = wr_init(buf, sizeof(buf));
		size_t attrs = BGP_HEADER_LEN + 4;
		char name[64];

		if ((bits & 12) == 12 || (bits & 12) == 0)
			continue;
		memset(wr_reserve(&w, attrs), 0, attrs);
		memset(buf, 0xff, 16);
		buf[18] = BGP_UPDATE;
		write_mp(&w, form_of(bits));
		if (!(bits & 32))
			wr_bytes(&w, rest, sizeof(rest));
		buf[16] = (uint8_t)(wr_len(&w) >> 8);
		buf[17] = (uint8_t)wr_len(&w);
		buf[21] = (uint8_t)((wr_len(&w) - attrs) >> 8);
		buf[22] = (uint8_t)(wr_len(&w) - attrs);
		form_name(name, sizeof(name), bits);
		keep_update(name, (bits & 2 ? 64 : 0) | (bits & 16 ? 4 : 0), buf, wr_len(&w));
	}
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_corpus DIRECTORY\n");
		return 2;
	}
	directory = argv[1];
	opens();
	small_messages();
	updates();
	labelled_updates();
	fields();
	vpn_values();
	return 0;
}
