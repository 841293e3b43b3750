/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the kept corpus by our own encoders: make_corpus DIRECTORY, which holds a folder for each row of targets.h. Run by hand
 * when an encoder learns something; the same program gives the same octets.
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

static void
opens(void)
{
	struct bgp_open_options o = {.asn = 65001, .identifier = 0x0a000001, .hold_time_s = 90};
	uint8_t buf[BGP_MSG_MAX];

	keep("open", "plain", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.families = 1u << FAMILY_IPV4_UNICAST;
	o.route_refresh = o.enhanced_route_refresh = o.four_octet_as = o.graceful_restart = true;
	o.asn = 4200000001;
	keep("open", "usual", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.families = 0x0f;
	o.extended_message = o.restart_notification = true;
	keep("open", "all", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	keep("header", "open", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
	o.extended_next_hop = o.restart_families = 0x0f;
	o.forwarding_families = 0x05;
	o.restart_time_s = 120;
	o.restart_state = true;
	keep("open", "restarting", -1, buf, bgp_open_encode(&o, buf, sizeof(buf)));
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
	keep("refresh", "begin", -1, buf,
		bgp_refresh_encode(FAMILY_IPV6_UNICAST, REFRESH_BEGIN, buf, sizeof(buf)));
	keep("refresh", "end", -1, buf,
		bgp_refresh_encode(FAMILY_VPNV4_UNICAST, REFRESH_END, buf, sizeof(buf)));
}

/* Every attribute that a set can hold. */
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

/* RFC 8950, RFC 2545 3: IPv4 by way of IPv6, and next hops that are link-local alone. Option bit 16 negotiates it (harness.h). */
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
		keep("update", all[i].name, 16, buf, pack(all[i].f, a, &o, buf, sizeof(buf)));
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
			keep("update", name, first, buf, pack(f, a, &o, buf, sizeof(buf)));
			snprintf(name, sizeof(name), "withdraw-%s%s",
				f == FAMILY_IPV4_UNICAST ? "ipv4" : "ipv6",
				o.add_path ? "-add-path" : "");
			keep("update", name, first, buf, pack(f, NULL, &o, buf, sizeof(buf)));
		}
		keep("update", f == FAMILY_IPV4_UNICAST ? "end-of-rib-ipv4" : "end-of-rib-ipv6", 0,
			buf, bgp_end_of_rib_encode(f, buf, sizeof(buf)));
	}
	next_hops();
}

static void
fields(void)
{
	for (int bits = 0; bits < 4; bits++) {
		enum family f = bits & 1 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;
		uint8_t buf[512];
		struct wr w = wr_init(buf, sizeof(buf));
		char name[32];

		for (uint8_t len = 0; len <= prefix_max_len(family_afi(f)); len += 12) {
			struct ip_addr addr = {
				.afi = (uint8_t)family_afi(f), .b = {0x20, 1, 0x0d, 0xb8}};
			struct prefix p = prefix_from_addr(&addr, len);

			nlri_write(&w, &p, bits & 2, len);
		}
		snprintf(name, sizeof(name), "%s%s", bits & 1 ? "ipv6" : "ipv4",
			bits & 2 ? "-add-path" : "");
		keep("nlri", name, bits, buf, wr_len(&w));
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
	fields();
	return 0;
}
