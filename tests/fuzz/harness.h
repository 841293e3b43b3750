/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs one input, for fuzzers, the replay test and truncations of the vectors: decodes, reads all
 * results, and checks invariants. In inputs of UPDATE, ROUTE-REFRESH and NLRI, the first octet
 * selects options.
 */
#pragma once

#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "tests/fuzz/reset_rule.h"

#include <stdio.h>
#include <stdlib.h>

/* Unlike assert(), also checks in release builds. */
#define HARNESS_CHECK(cond)                                                                        \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Reads each octet, so sanitizers detect wrong pointers. */
static inline unsigned
harness_touch(const uint8_t *p, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return sum;
}

/* Copies the input to a heap block of exactly its size, for AddressSanitizer. */
static inline uint8_t *
harness_copy(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	HARNESS_CHECK(p);
	if (len > 0)
		memcpy(p, data, len);
	return p;
}

/*
 * Checks the text of an error: printable, not truncated at the length kept by the session, within
 * a buffer of any size.
 */
static inline void
harness_error_text(const struct bgp_error *e)
{
	char text[160], part[24];
	size_t len;

	bgp_error_text(e, text, sizeof(text));
	len = strlen(text);
	HARNESS_CHECK(len > 0 && len < sizeof(text) - 1);
	for (size_t i = 0; i < len; i++)
		HARNESS_CHECK(text[i] >= ' ' && text[i] <= '~');
	bgp_error_text(e, part, sizeof(part));
	HARNESS_CHECK(strlen(part) < sizeof(part) && strncmp(text, part, strlen(part)) == 0);
}

static inline void
harness_error(const struct bgp_error *e)
{
	HARNESS_CHECK(e->severity <= SESSION_RESET);
	HARNESS_CHECK(e->severity == BGP_OK || e->code != 0);
	harness_touch(e->data, e->data_len);
	if (e->severity != BGP_OK)
		harness_error_text(e);
}

static inline void
harness_header(const uint8_t *msg, size_t len)
{
	uint8_t type;
	uint16_t n;
	struct bgp_error e;

	if (len < BGP_HEADER_LEN)
		return;
	e = bgp_header_decode(msg, BGP_EXTENDED_MSG_MAX, &type, &n);
	harness_error(&e);
	if (e.severity == BGP_OK)
		HARNESS_CHECK(n >= BGP_HEADER_LEN && type >= BGP_OPEN && type <= BGP_ROUTE_REFRESH);
}

#define HARNESS_ZONE 3

static inline void
harness_open(const uint8_t *msg, size_t len)
{
	struct bgp_open o;
	struct bgp_error e = bgp_open_decode(msg, len, &o);

	harness_error(&e);
	HARNESS_CHECK(o.raw_count <= OPEN_RAW_CAPABILITIES_MAX);
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		HARNESS_CHECK(o.labels_max[f] != 1 &&
			      (family_safi(f) != SAFI_UNICAST || o.labels_max[f] == 0));
	for (unsigned i = 0; i < o.raw_count; i++)
		harness_touch(o.raw[i].value, o.raw[i].len);
	if (e.severity == BGP_OK) {
		HARNESS_CHECK(o.asn != 0 && o.identifier != 0 && o.version == BGP_VERSION);
		HARNESS_CHECK((o.forwarding_families & ~o.restart_families) == 0);
		HARNESS_CHECK((o.extended_next_hop & ~(1u << FAMILY_IPV4_UNICAST |
							     1u << FAMILY_VPNV4_UNICAST)) == 0);
		e = bgp_open_check(&o, 65001, 64512, 0xc0000201);
		harness_error(&e);
	}
}

static inline void
harness_notification(const uint8_t *msg, size_t len)
{
	struct bgp_notification n;
	struct bgp_error e = bgp_notification_decode(msg, len, &n);

	harness_error(&e);
	harness_touch(n.data, n.data_len);
	HARNESS_CHECK(bgp_notification_text(n.code, n.subcode) != NULL);
}

static inline void
harness_refresh(const uint8_t *msg, size_t len)
{
	struct bgp_refresh r;

	for (int enhanced = 0; enhanced < 2; enhanced++) {
		struct bgp_error e = bgp_refresh_decode(msg, len, enhanced, &r);

		harness_error(&e);
		if (e.severity == BGP_OK)
			HARNESS_CHECK(r.subtype <= REFRESH_END || r.ignore);
	}
}

/*
 * Writes a route like a sender: with the labels read, the S bit on the last label if several
 * labels are allowed.
 */
static inline void
harness_nlri_write(struct wr *w, struct nlri_form form, const struct nlri *n)
{
	unsigned labels = form.safi == SAFI_UNICAST ? 0 : form.withdrawn ? 1 : n->label_count;
	unsigned bits = n->prefix.len + 24 * labels + (form.safi == SAFI_VPN ? 64 : 0);

	if (form.add_path)
		wr_u32(w, n->path_id);
	wr_u8(w, (uint8_t)bits);
	wr_bytes(w, n->labels, 3u * labels);
	if (form.safi == SAFI_VPN) {
		wr_u32(w, (uint32_t)(n->rd.v >> 32));
		wr_u32(w, (uint32_t)n->rd.v);
	}
	wr_bytes(w, n->prefix.b, (n->prefix.len + 7u) / 8);
}

static inline bool
harness_same_nlri(const struct nlri *a, const struct nlri *b)
{
	return prefix_equal(&a->prefix, &b->prefix) && a->path_id == b->path_id &&
	       a->rd.v == b->rd.v && a->label == b->label && a->label_count == b->label_count;
}

/*
 * nlri_write_form() writes the value read, in the length said before, and nothing where the octets
 * do not fit.
 */
static inline void
harness_nlri_form(struct nlri_form form, const struct nlri *n)
{
	size_t len = nlri_form_len(form, n);
	struct nlri again;
	uint8_t buf[48];
	struct wr w = wr_init(buf, len - 1);
	struct rd back;

	HARNESS_CHECK(len > 0 && len <= sizeof(buf));
	HARNESS_CHECK(!nlri_write_form(&w, form, n) && wr_len(&w) == 0 && !w.bad);
	w = wr_init(buf, len);
	HARNESS_CHECK(nlri_write_form(&w, form, n) && wr_len(&w) == len);
	back = rd_init(buf, len);
	HARNESS_CHECK(nlri_read_form(&back, form, &again) && rd_left(&back) == 0);
	HARNESS_CHECK(harness_same_nlri(n, &again));
	for (unsigned i = 0; i < n->label_count; i++) {
		HARNESS_CHECK(label_get(again.labels + 3 * i) == label_get(n->labels + 3 * i));
		HARNESS_CHECK((again.labels[3 * i + 2] & 1) == (i + 1u == n->label_count));
	}
	/* RFC 8277 2.4 */
	if (form.withdrawn && form.safi != SAFI_UNICAST)
		HARNESS_CHECK(memcmp(again.labels, "\x80\0\0", 3) == 0);
}

/*
 * Reading the field agrees with nlri_check_form(); writing the result gives a field with equal
 * content.
 */
static inline void
harness_nlri(const uint8_t *p, size_t len, struct nlri_form form)
{
	bool good = nlri_check_form(rd_init(p, len), form);
	struct rd r = rd_init(p, len);
	struct nlri n, again;

	while (nlri_read_form(&r, form, &n)) {
		uint8_t buf[48];
		struct wr w = wr_init(buf, sizeof(buf));
		struct rd back;

		HARNESS_CHECK(n.prefix.len <= prefix_max_len((enum afi)form.afi));
		harness_touch(n.labels, 3u * n.label_count);
		harness_nlri_write(&w, form, &n);
		HARNESS_CHECK(!w.bad);
		back = rd_init(buf, wr_len(&w));
		HARNESS_CHECK(nlri_read_form(&back, form, &again) && rd_left(&back) == 0);
		HARNESS_CHECK(harness_same_nlri(&n, &again));
		harness_nlri_form(form, &n);
		if (form.safi != SAFI_UNICAST)
			continue;
		w = wr_init(buf, sizeof(buf));
		nlri_write(&w, &n.prefix, form.add_path, n.path_id);
		HARNESS_CHECK(wr_len(&w) == nlri_wire_len(&n.prefix, form.add_path) &&
			      wr_len(&w) == (size_t)(back.end - buf));
	}
	HARNESS_CHECK(good == !r.bad);
	HARNESS_CHECK(good == (nlri_fault_find(rd_init(p, len), form) == NLRI_SOUND));
}

static inline uint8_t *
harness_room(unsigned which)
{
	static uint8_t *room[2];

	if (!room[which])
		room[which] = malloc(ATTR_SET_MAX);
	HARNESS_CHECK(room[which]);
	return room[which];
}

/* Packing keeps the set, and no reader of a packed set reads beyond its octets. */
static inline void
harness_packed(const struct attr_set *a)
{
	struct attr_set *again = (struct attr_set *)harness_room(1);
	uint8_t *room = malloc(attr_pack_bound(a));
	size_t size = room ? attr_pack(a, (struct attr_packed *)(void *)room) : 0;
	struct attr_packed *p = malloc(size);
	struct ip_addr next_hop;

	HARNESS_CHECK(room && p && size <= attr_pack_bound(a));
	memcpy(p, room, size);
	HARNESS_CHECK(attr_packed_valid(p, size));
	HARNESS_CHECK(attr_packed_size(p) == size);
	HARNESS_CHECK(attr_packed_set_size(p) == attr_set_size(a));
	(void)attr_unpack(p, again);
	HARNESS_CHECK(memcmp(a, again, attr_set_size(a)) == 0);
	next_hop = attr_packed_next_hop(p);
	HARNESS_CHECK(memcmp(&next_hop, attr_next_hop(a), sizeof(next_hop)) == 0);
	HARNESS_CHECK(attr_packed_as_path_count(p, a->origin_asn) ==
		      attr_as_path_count(a, a->origin_asn));
	(void)attr_packed_cluster_contains(p, 0);
	(void)attr_packed_originator_is(p, 0);
	free(p);
	free(room);
}

/* Encoding and decoding again gives an equal attribute set. */
static inline void
harness_round_trip_in(struct attr_set *a, enum family f)
{
	static uint8_t buf[BGP_EXTENDED_MSG_MAX];
	struct attr_set *again = (struct attr_set *)harness_room(1);
	struct bgp_encode_options eo = {.as4 = true,
		.extended_message = true,
		.send_communities = true,
		.extended_next_hop = true};
	struct bgp_update_options o = {.as4 = true,
		.families = 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST,
		.extended_message = true,
		.extended_next_hop = 1u << FAMILY_IPV4_UNICAST,
		.zone = HARNESS_ZONE};
	struct prefix p = {.afi = (uint8_t)family_afi(f), .len = 8};
	struct update_packer u;
	struct bgp_update out;
	size_t len;

	/* Internal sessions carry all attributes and always LOCAL_PREF. */
	if (!(a->has & ATTR_HAS_LOCAL_PREF)) {
		a->has |= ATTR_HAS_LOCAL_PREF;
		a->local_pref = 100;
	}
	p.b[0] = 0x20;
	if (!update_packer_begin(&u, f, a, &eo, buf, sizeof(buf)) || !update_packer_add(&u, &p, 0))
		return;
	len = update_packer_finish(&u);
	HARNESS_CHECK(len > 0);
	HARNESS_CHECK(u.next_hop_at + u.next_hop_len <= len);
	HARNESS_CHECK(
		memcmp(buf + u.next_hop_at, a->next_hop.b, u.next_hop_len < 16 ? 4 : 16) == 0);
	bgp_update_decode(buf, len, &o, again, &out);
	/* MP_REACH_NLRI accepts IPv4 next hops that NEXT_HOP rejects. */
	if (out.error.severity == TREAT_AS_WITHDRAW && out.error.subcode == UPDATE_INVALID_NEXT_HOP)
		return;
	HARNESS_CHECK(out.error.severity == BGP_OK && out.has_attrs);
	HARNESS_CHECK(attr_set_size(a) == attr_set_size(again));
	HARNESS_CHECK(memcmp(a, again, attr_set_size(a)) == 0);
}

static inline void
harness_round_trip(struct attr_set *a)
{
	if (a->next_hop.afi != AFI_NONE)
		harness_round_trip_in(a, FAMILY_IPV4_UNICAST);
	if (a->next_hop.afi == AFI_IPV6)
		harness_round_trip_in(a, FAMILY_IPV6_UNICAST);
}

/*
 * Encodes the prefixes of a VPN field and decodes again: equal prefixes, and an equal attribute set.
 * `a` NULL: withdrawals.
 */
static inline void
harness_round_trip_vpn(const struct bgp_nlri_field *f, const struct attr_set *a)
{
	static uint8_t buf[BGP_EXTENDED_MSG_MAX];
	struct attr_set *again = (struct attr_set *)harness_room(1);
	struct bgp_encode_options eo = {.as4 = true,
		.add_path = f->form.add_path,
		.extended_message = true,
		.send_communities = true,
		.extended_next_hop = true,
		.multiple_labels = f->form.multiple_labels};
	struct bgp_update_options o = {.as4 = true,
		.families = 0x0f,
		.add_path = f->form.add_path ? 0x0f : 0,
		.multiple_labels = f->form.multiple_labels ? 0x0f : 0,
		.extended_message = true,
		.extended_next_hop = 0x0f,
		.zone = HARNESS_ZONE};
	struct rd from = f->nlri, back;
	struct update_packer u;
	struct bgp_update out;
	struct nlri n, m;
	size_t len;

	if (!update_packer_begin(&u, f->family, a, &eo, buf, sizeof(buf)))
		return; /* the attributes of an extended message may grow */
	while (nlri_read_form(&from, f->form, &n) && update_packer_add_form(&u, &n))
		;
	if (u.count == 0)
		return;
	len = update_packer_finish(&u);
	HARNESS_CHECK(len > 0);
	bgp_update_decode(buf, len, &o, again, &out);
	HARNESS_CHECK(out.error.severity == BGP_OK && out.has_attrs == (a != NULL));
	HARNESS_CHECK(out.announced_count == (a != NULL) && out.withdrawn_count == (a == NULL));
	if (a != NULL)
		HARNESS_CHECK(attr_set_size(a) == attr_set_size(again) &&
			      memcmp(a, again, attr_set_size(a)) == 0);
	back = a != NULL ? out.announced[0].nlri : out.withdrawn[0].nlri;
	from = f->nlri;
	for (unsigned i = 0; i < u.count; i++) {
		HARNESS_CHECK(nlri_read_form(&from, f->form, &n));
		HARNESS_CHECK(nlri_read_form(&back, f->form, &m) && harness_same_nlri(&n, &m));
	}
	HARNESS_CHECK(rd_left(&back) == 0);
}

static inline struct bgp_update_options
harness_update_options(uint8_t bits)
{
	return (struct bgp_update_options){
		.as4 = !(bits & 1),
		.external = bits & 2,
		.confederation = bits & 4,
		.enforce_first_as = bits & 8,
		.peer_as = 65001,
		.local_id = bits & 16 ? 0xc0000201 : 0,
		.families = bits & 32 ? 1u << FAMILY_IPV4_UNICAST : 0xcf,
		.add_path = bits & 64 ? 0xcf : 0,
		.extended_message = bits & 128,
		/* shares a bit, so the corpus keeps its meaning */
		.extended_next_hop = bits & 16 ? 0xcf : 0,
		.multiple_labels = bits & 4 ? 0xcf : 0,
		.labels_max = bits & 8 ? 2 : 0,
		.zone = HARNESS_ZONE,
	};
}

/* A session is reset where the RFCs require a reset, and only where they allow one. */
static inline void
harness_reset(const uint8_t *msg, size_t len, const struct bgp_update_options *o,
	const struct bgp_error *e)
{
	struct rule_verdict v;

	if (len < BGP_HEADER_LEN + 4) {
		HARNESS_CHECK(e->severity == SESSION_RESET && e->code == ERR_HEADER);
		return;
	}
	v = rule_update(msg, len, o);
	HARNESS_CHECK(e->severity == SESSION_RESET ? v.may : !v.must);
	HARNESS_CHECK(e->severity != SESSION_RESET || e->code == ERR_UPDATE);
	/* RFC 7606 5.2 */
	HARNESS_CHECK(
		e->severity != SESSION_RESET || v.must || e->subcode == UPDATE_MALFORMED_LIST);
}

/* Returns the error found. */
static inline struct bgp_error
harness_update_with(const uint8_t *msg, size_t len, const struct bgp_update_options *o)
{
	struct attr_set *a = (struct attr_set *)harness_room(0);
	struct bgp_update u;

	bgp_update_decode(msg, len, o, a, &u);
	harness_error(&u.error);
	harness_reset(msg, len, o, &u.error);
	HARNESS_CHECK(u.announced_count <= 2 && u.withdrawn_count <= 2);
	HARNESS_CHECK(
		u.has_attrs == (u.announced_count > 0 && u.error.severity < TREAT_AS_WITHDRAW));
	HARNESS_CHECK(
		u.error.severity < SESSION_RESET || u.announced_count + u.withdrawn_count == 0);
	for (unsigned i = 0; i < 2 * 2; i++) {
		const struct bgp_nlri_field *f = i < 2 ? &u.announced[i] : &u.withdrawn[i - 2];

		if (i % 2 >= (i < 2 ? u.announced_count : u.withdrawn_count))
			continue;
		HARNESS_CHECK(rd_left(&f->nlri) > 0);
		HARNESS_CHECK(o->families & nlri_bit(f->form.afi, f->form.safi));
		HARNESS_CHECK(f->form.withdrawn == (i >= 2));
		HARNESS_CHECK(nlri_check_form(f->nlri, f->form));
		harness_nlri(f->nlri.p, rd_left(&f->nlri), f->form);
	}
	if (u.has_attrs) {
		harness_touch((const uint8_t *)a, attr_set_size(a));
		harness_packed(a);
		harness_round_trip(a);
	}
	for (unsigned i = 0; i < u.announced_count + u.withdrawn_count; i++) {
		const struct bgp_nlri_field *f = i < u.announced_count
							 ? &u.announced[i]
							 : &u.withdrawn[i - u.announced_count];

		if (f->form.safi != SAFI_VPN)
			continue;
		if (f->form.withdrawn)
			harness_round_trip_vpn(f, NULL);
		else if (u.has_attrs && i == 0)
			harness_round_trip_vpn(f, a);
	}
	return u.error;
}

static inline void
harness_update(const uint8_t *msg, size_t len, uint8_t option_bits)
{
	struct bgp_update_options o = harness_update_options(option_bits);

	harness_update_with(msg, len, &o);
}

/* Handles one message of any type like a session. */
static inline void
harness_message(const uint8_t *msg, size_t len, uint8_t option_bits)
{
	harness_header(msg, len);
	if (len < BGP_HEADER_LEN)
		return;
	switch (msg[18]) {
	case BGP_OPEN:
		harness_open(msg, len);
		break;
	case BGP_UPDATE:
		harness_update(msg, len, option_bits);
		break;
	case BGP_NOTIFICATION:
		harness_notification(msg, len);
		break;
	case BGP_ROUTE_REFRESH:
		harness_refresh(msg, len);
		break;
	default:
		break;
	}
}

/*
 * Every truncation; for an UPDATE also with an adjusted attribute length, so the attribute
 * decoders see the truncation.
 */
static inline void
harness_truncations(const uint8_t *msg, size_t len, uint8_t option_bits)
{
	size_t first = 0, attrs = 0;

	for (size_t n = 0; n <= len; n++) {
		uint8_t *p = harness_copy(msg, n);

		harness_message(p, n, option_bits);
		free(p);
	}
	if (len < 23 || msg[18] != BGP_UPDATE)
		return;
	first = 23 + (size_t)(msg[19] << 8 | msg[20]);
	if (first <= len)
		attrs = (size_t)(msg[first - 2] << 8 | msg[first - 1]);
	for (size_t n = first; n < first + attrs && n <= len; n++) {
		uint8_t *p = harness_copy(msg, n);

		p[first - 2] = (uint8_t)((n - first) >> 8);
		p[first - 1] = (uint8_t)(n - first);
		harness_message(p, n, option_bits);
		free(p);
	}
}
