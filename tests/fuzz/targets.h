/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz targets by name: fuzz.c runs one, test_replay.c all of them with the kept corpus. An input
 * is a message with its header; inputs of `message`, `attribute`, `update` and `nlri` start with
 * an octet of options. For text inputs see target_NAME.c.
 */
#pragma once

#include "tests/fuzz/harness.h"

static inline void
target_update(const uint8_t *data, size_t len)
{
	if (len > 0)
		harness_update(data + 1, len - 1, data[0]);
}

/* A message of any type, with the length given in its header. */
static inline void
target_message(const uint8_t *data, size_t len)
{
	size_t n;

	if (len < 1 + BGP_HEADER_LEN)
		return;
	n = rule_u16(data + 1 + 16);
	harness_message(data + 1, n > BGP_HEADER_LEN && n < len ? n : len - 1, data[0]);
}

/*
 * Path attributes of an UPDATE that announces 203.0.113.0/24; without the route if option 32 is
 * set.
 */
static inline void
target_attribute(const uint8_t *data, size_t len)
{
	static const uint8_t nlri[] = {0, 0, 0, 1, 24, 203, 0, 113};
	struct bgp_update_options o;
	size_t nlri_len;
	uint8_t *msg;
	struct wr w;

	if (len == 0 || len > BGP_MSG_MAX)
		return;
	o = harness_update_options(data[0] & 0xdf);
	nlri_len = data[0] & 32 ? 0 : data[0] & 64 ? sizeof(nlri) : sizeof(nlri) - 4;
	msg = malloc(BGP_HEADER_LEN + 4 + len + sizeof(nlri));
	HARNESS_CHECK(msg);
	w = wr_init(msg, BGP_HEADER_LEN + 4 + len - 1 + nlri_len);
	memset(wr_reserve(&w, 16), 0xff, 16);
	wr_u16(&w, (uint16_t)(w.end - msg));
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, (uint16_t)(len - 1));
	wr_bytes(&w, data + 1, len - 1);
	wr_bytes(&w, nlri + sizeof(nlri) - nlri_len, nlri_len);
	HARNESS_CHECK(!w.bad && w.p == w.end);
	harness_update_with(msg, wr_len(&w), &o);
	free(msg);
}

/*
 * First octet: 1 IPv6, 2 path identifiers, 4 labels, 8 labels and route distinguishers, 16 several
 * labels, 32 withdrawn.
 */
static inline void
target_nlri(const uint8_t *data, size_t len)
{
	struct nlri_form form;

	if (len == 0)
		return;
	form = (struct nlri_form){
		.afi = data[0] & 1 ? AFI_IPV6 : AFI_IPV4,
		.safi = data[0] & 8   ? SAFI_VPN
			: data[0] & 4 ? SAFI_LABELED_UNICAST
				      : SAFI_UNICAST,
		.add_path = data[0] & 2,
		.multiple_labels = data[0] & 16,
		.withdrawn = data[0] & 32,
	};
	harness_nlri(data + 1, len - 1, form);
}

/* The text of a value is short, printable, and parses to the value. */
static inline void
check_rd(struct vpn_rd rd)
{
	char text[VPN_TEXT_MAX];
	struct vpn_rd again;

	HARNESS_CHECK(vpn_rd_parse(vpn_rd_format(rd, text), &again) == 0);
	HARNESS_CHECK(vpn_rd_compare(rd, again) == 0 && strlen(text) < VPN_TEXT_MAX - 1);
}

/* Likewise; returns the text. */
static inline const char *
check_ext_community(struct ext_community c)
{
	static char text[VPN_TEXT_MAX];
	struct ext_community again;
	uint8_t octets[8];

	HARNESS_CHECK(ext_community_parse(ext_community_format(c, text), &again) == 0);
	HARNESS_CHECK(again.v == c.v && strlen(text) < VPN_TEXT_MAX - 1);
	ext_community_put(c, octets);
	HARNESS_CHECK(ext_community_get(octets).v == c.v);
	return text;
}

/*
 * Route distinguishers and extended communities (rib/table/vpn.h): the input as text, then each eight
 * octets as a value.
 */
static inline void
target_vpn(const uint8_t *data, size_t len)
{
	char text[VPN_TEXT_MAX], *input = malloc(len + 1);
	struct ext_community c, target;
	struct vpn_rd rd;

	HARNESS_CHECK(input);
	if (len > 0)
		memcpy(input, data, len);
	input[len] = '\0';
	if (vpn_rd_parse(input, &rd) == 0)
		check_rd(rd);
	if (ext_community_parse(input, &c) == 0)
		check_ext_community(c);
	/* The text of a target is the text of the distinguisher with the same numbers. */
	if (route_target_parse(input, &target) == 0) {
		HARNESS_CHECK(ext_community_is(target, EXT_ROUTE_TARGET));
		HARNESS_CHECK(vpn_rd_parse(input, &rd) == 0);
		HARNESS_CHECK(
			strcmp(vpn_rd_format(rd, text), check_ext_community(target) + 3) == 0);
	}
	free(input);
	for (size_t i = 0; i + 8 <= len; i++) {
		check_ext_community(ext_community_get(data + i));
		check_rd((struct vpn_rd){ext_community_get(data + i).v});
	}
}

void target_config(const uint8_t *data, size_t len);
void target_rpc(const uint8_t *data, size_t len);
void target_keelctl(const uint8_t *data, size_t len);
void target_aspath(const uint8_t *data, size_t len);
void target_rtr(const uint8_t *data, size_t len);
void target_policy_text(const uint8_t *data, size_t len);

static const struct target {
	const char *name;
	void (*run)(const uint8_t *data, size_t len);
	/* mutations of the whole corpus in the replay: about a second in a sanitizer build */
	unsigned mutations;
	bool text;
} targets[] = {
	{"header", harness_header, 100000, false},
	{"open", harness_open, 200000, false},
	{"notification", harness_notification, 100000, false},
	{"refresh", harness_refresh, 100000, false},
	{"update", target_update, 200000, false},
	{"nlri", target_nlri, 200000, false},
	{"message", target_message, 200000, false},
	{"attribute", target_attribute, 200000, false},
	{"config", target_config, 1000, true},
	{"rpc", target_rpc, 5000, true},
	{"keelctl", target_keelctl, 3000, true},
	{"vpn", target_vpn, 100000, false},
	{"aspath", target_aspath, 2000, false},
	{"rtr", target_rtr, 20000, false},
	{"policy_text", target_policy_text, 2000, true},
};

#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))
