/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoders against the protocol vectors of ../shared/data/vectors (format: README.md there),
 * every expectation: outcome of a message, NOTIFICATION, usable contents. Keel's decisions about
 * vectors marked debatable are in docs/decisions/0004-debatable-vectors.md, and are checked against
 * the document.
 */
#include "tests/control/vectors.h"

#include <arpa/inet.h>
#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define OWN_ASN 64512

static struct tally {
	unsigned total, met, debatable, decided;
} tally;

/* The current vector: outcome and complaints. */
static char outcome[32], complaint[8192];

static bool
complain(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(complaint, sizeof(complaint), format, ap);
	va_end(ap);
	return false;
}

static const char *
v4_text(uint32_t host_order)
{
	static char buf[INET_ADDRSTRLEN];
	uint32_t be = htonl(host_order);

	inet_ntop(AF_INET, &be, buf, sizeof(buf));
	return buf;
}

static const char *
addr_text(const struct ip_addr *a)
{
	static char buf[INET6_ADDRSTRLEN];

	inet_ntop(a->afi == AFI_IPV4 ? AF_INET : AF_INET6, a->b, buf, sizeof(buf));
	return buf;
}

static json_t *
hex_json(const uint8_t *p, size_t len)
{
	char *text = calloc(1, 2 * len + 1);
	json_t *j;

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	j = json_string(text);
	free(text);
	return j;
}

static bool
same(const char *what, json_t *got, json_t *expected)
{
	char *a, *b;

	if (json_equal(got, expected))
		return true;
	a = json_dumps(got, JSON_SORT_KEYS | JSON_ENCODE_ANY);
	b = expected ? json_dumps(expected, JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
	complain("%s: %s, expected %s", what, a, b ? b : "nothing");
	free(a);
	free(b);
	return false;
}

static const char *const severity_text[] = {
	"ok", "attribute-discard", "treat-as-withdraw", "session-reset"};

/* True if `e` is the result expected in the vector. `ignored`: a message without effect. */
static bool
as_expected(const json_t *vector, const struct bgp_error *e, bool ignored)
{
	const char *expect = json_string_value(json_object_get(vector, "expect"));
	const char *notification = json_string_value(json_object_get(vector, "notification"));
	const char *got = ignored ? "ignore" : severity_text[e->severity], *note;

	snprintf(outcome, sizeof(outcome), "%s", got);
	if (e->severity == SESSION_RESET)
		snprintf(outcome, sizeof(outcome), "%s %u/%u", got, e->code, e->subcode);
	if (strcmp(expect, got) != 0)
		return complain(
			"%s about %s, expected %s", outcome, bgp_attr_name(e->attribute), expect);
	if (e->severity != SESSION_RESET)
		return true;
	note = outcome + strlen(got) + 1;
	return strcmp(note, notification) == 0 ||
	       listed(json_object_get(vector, "notification_also"), note) ||
	       complain("notification %s, expected %s", note, notification);
}

/* ---- OPEN ---- */

/* AFI, SAFI and one octet, either a mode (RFC 7911) or flags (RFC 4724). */
static json_t *
families_json(struct rd v, bool modes)
{
	json_t *list = json_array();

	while (rd_left(&v) >= 4) {
		uint16_t afi = rd_u16(&v);
		const char *name = family_name(afi, rd_u8(&v));
		uint8_t x = rd_u8(&v);

		json_array_append_new(list,
			modes ? json_pack("{s:s, s:i}", "family", name, "mode", x)
			      : json_pack("{s:s, s:b}", "family", name, "forwarding", x & 0x80));
	}
	return list;
}

/* RFC 8950 4 */
static json_t *
next_hop_families_json(struct rd v)
{
	json_t *list = json_array();

	while (rd_left(&v) >= 6) {
		uint16_t afi = rd_u16(&v);
		const char *name = family_name(afi, rd_u16(&v));

		uint16_t via = rd_u16(&v);

		json_array_append_new(list,
			via == AFI_IPV4 || via == AFI_IPV6
				? json_sprintf("%s via %s", name, via == AFI_IPV6 ? "ipv6" : "ipv4")
				: json_sprintf("%s via %u", name, via));
	}
	return list;
}

/* Decoded from the octets in raw[]; open_flags_agree() compares the fields of the struct. */
static json_t *
capability_json(const struct bgp_open *o, unsigned i)
{
	struct rd v = rd_init(o->raw[i].value, o->raw[i].len);
	json_t *j = json_pack("{s:i}", "code", o->raw[i].code);
	uint16_t afi, x;

	switch (o->raw[i].code) {
	case CAP_MULTIPROTOCOL:
		afi = rd_u16(&v);
		rd_u8(&v);
		json_object_set_new(j, "family", json_string(family_name(afi, rd_u8(&v))));
		break;
	case CAP_EXTENDED_NEXT_HOP:
		json_object_set_new(j, "families", next_hop_families_json(v));
		break;
	case CAP_FOUR_OCTET_AS:
		json_object_set_new(j, "asn", json_integer(rd_u32(&v)));
		break;
	case CAP_ADD_PATH:
		json_object_set_new(j, "families", families_json(v, true));
		break;
	case CAP_GRACEFUL_RESTART:
		x = rd_u16(&v);
		json_object_set_new(j, "restart", json_boolean(x & 0x8000));
		json_object_set_new(j, "notification", json_boolean(x & 0x4000));
		json_object_set_new(j, "time", json_integer(x & 0x0fff));
		json_object_set_new(j, "families", families_json(v, false));
		break;
	default:
		if (o->raw[i].len > 0)
			json_object_set_new(j, "hex", hex_json(o->raw[i].value, o->raw[i].len));
		break;
	}
	return j;
}

/* The summary fields of the struct agree with the single capabilities. */
static bool
open_flags_agree(const struct bgp_open *o)
{
	bool refresh = false, enhanced = false, extended = false, as4 = false, restart = false;
	uint16_t restart_flags = 0;
	uint8_t families = 0, next_hop = 0;

	for (unsigned i = 0; i < o->raw_count; i++) {
		const uint8_t *v = o->raw[i].value;
		enum family f;

		refresh |= o->raw[i].code == CAP_ROUTE_REFRESH;
		enhanced |= o->raw[i].code == CAP_ENHANCED_ROUTE_REFRESH;
		extended |= o->raw[i].code == CAP_EXTENDED_MESSAGE;
		as4 |= o->raw[i].code == CAP_FOUR_OCTET_AS;
		if (o->raw[i].code == CAP_GRACEFUL_RESTART) { /* the last capability counts */
			restart = true;
			restart_flags = (uint16_t)(v[0] << 8 | v[1]);
		}
		for (unsigned n = 0; o->raw[i].code == CAP_EXTENDED_NEXT_HOP && n < o->raw[i].len;
			n += 6) {
			f = family_from_afi_safi((uint16_t)(v[n] << 8 | v[n + 1]), v[n + 3]);
			if (f != FAMILY_COUNT && family_afi(f) == AFI_IPV4 && v[n + 2] == 0 &&
				v[n + 5] == AFI_IPV6)
				next_hop |= (uint8_t)(1u << f);
		}
		if (o->raw[i].code != CAP_MULTIPROTOCOL)
			continue;
		f = family_from_afi_safi((uint16_t)(v[0] << 8 | v[1]), v[3]);
		if (f != FAMILY_COUNT)
			families |= (uint8_t)(1u << f);
	}
	if (refresh != o->route_refresh || enhanced != o->enhanced_route_refresh ||
		extended != o->extended_message || as4 != o->four_octet_as ||
		restart != o->graceful_restart || families != o->families ||
		next_hop != o->extended_next_hop ||
		restart_flags != (o->restart_state << 15 | o->restart_notification << 14 |
					 o->restart_time_s | (restart_flags & 0x3000)))
		return complain("the struct's flags disagree with the capabilities");
	return true;
}

static bool
check_open(const json_t *vector, const json_t *options, const uint8_t *msg, size_t len)
{
	json_int_t peer_as = json_integer_value(json_object_get(options, "peer_as"));
	json_t *decoded = json_object_get(vector, "decoded"), *got, *capabilities;
	const char *own = json_string_value(json_object_get(options, "local_id"));
	struct ip_addr own_id = {0};
	struct bgp_error e;
	struct bgp_open o;
	bool ok;

	if (own)
		assert_int_equal(addr_parse(own, &own_id), 0);
	e = bgp_open_decode(msg, len, &o);
	if (e.severity == BGP_OK)
		e = bgp_open_check(&o, (uint32_t)peer_as, OWN_ASN, addr_v4(&own_id));
	if (!as_expected(vector, &e, false))
		return false;
	if (e.severity != BGP_OK)
		return true;
	capabilities = json_array();
	for (unsigned i = 0; i < o.raw_count; i++)
		json_array_append_new(capabilities, capability_json(&o, i));
	got = json_pack("{s:i, s:I, s:i, s:s, s:o}", "version", o.version, "asn", (json_int_t)o.asn,
		"hold_time", o.hold_time_s, "identifier", v4_text(o.identifier), "capabilities",
		capabilities);
	/* The framing of parameters (RFC 9072) is not part of the contents. */
	json_object_del(decoded, "extended_parameters");
	ok = same("decoded", got, decoded) && open_flags_agree(&o);
	json_decref(got);
	return ok;
}

/* ---- ROUTE-REFRESH, NOTIFICATION ---- */

static bool
check_refresh(const json_t *vector, const json_t *options, const uint8_t *msg, size_t len)
{
	static const char *const subtypes[] = {"request", "begin", "end"};
	bool enhanced = json_is_true(json_object_get(options, "enhanced_refresh"));
	struct bgp_refresh r;
	struct bgp_error e = bgp_refresh_decode(msg, len, enhanced, &r);
	json_t *got;
	bool ok;

	if (e.severity == BGP_OK && (r.ignore || !listed(json_object_get(options, "families"),
							 family_name(r.afi, r.safi))))
		return as_expected(vector, &e, true);
	if (!as_expected(vector, &e, false) || e.severity != BGP_OK)
		return complaint[0] == '\0';
	got = json_pack("{s:s}", "family", family_name(r.afi, r.safi));
	if (enhanced)
		json_object_set_new(got, "subtype", json_string(subtypes[r.subtype]));
	ok = same("decoded", got, json_object_get(vector, "decoded"));
	json_decref(got);
	return ok;
}

static bool
check_notification(const json_t *vector, const json_t *options, const uint8_t *msg, size_t len)
{
	struct bgp_notification n;
	struct bgp_error e = bgp_notification_decode(msg, len, &n);
	json_t *got;
	bool ok;

	if (!as_expected(vector, &e, false) || e.severity != BGP_OK)
		return complaint[0] == '\0';
	got = json_pack("{s:i, s:i}", "code", n.code, "subcode", n.subcode);
	if (n.data_len > 0)
		json_object_set_new(got, "hex", hex_json(n.data, n.data_len));
	ok = same("decoded", got, json_object_get(vector, "decoded"));
	json_decref(got);
	return ok;
}

/* ---- UPDATE ---- */

static json_t *
as_path_json(const struct attr_set *a)
{
	static const char *const types[] = {
		"?", "set", "sequence", "confed-sequence", "confed-set"};
	struct rd v = rd_init(attr_as_path(a), a->as_path_len);
	json_t *segments = json_array();

	while (rd_left(&v) > 0) {
		const char *type = types[rd_u8(&v)];
		json_t *asns = json_array();

		for (unsigned n = rd_u8(&v); n > 0; n--)
			json_array_append_new(asns, json_integer(rd_u32(&v)));
		json_array_append_new(
			segments, json_pack("{s:s, s:o}", "type", type, "asns", asns));
	}
	return segments;
}

/* Appends each `width` octets of `p` as text in the vectors' form. */
static void
set_list(json_t *j, const char *key, const uint8_t *p, unsigned count, unsigned width)
{
	struct rd v = rd_init(p, (size_t)count * width);
	json_t *list = json_array();

	while (rd_left(&v) > 0) {
		uint32_t a = 0, b = 0, c = 0;

		if (width == 4 && strcmp(key, "cluster_list") == 0) {
			json_array_append_new(list, json_string(v4_text(rd_u32(&v))));
		} else if (width == 4) {
			a = rd_u16(&v);
			b = rd_u16(&v);
			json_array_append_new(list, json_sprintf("%u:%u", a, b));
		} else if (width == 12) {
			a = rd_u32(&v);
			b = rd_u32(&v);
			c = rd_u32(&v);
			json_array_append_new(list, json_sprintf("%u:%u:%u", a, b, c));
		} else {
			json_array_append_new(list, hex_json(rd_bytes(&v, width), width));
		}
	}
	if (count > 0)
		json_object_set_new(j, key, list);
	else
		json_decref(list);
}

static void
set_unknown(json_t *j, const struct attr_set *a)
{
	struct rd v = rd_init(attr_unknown(a), a->unknown_len);
	json_t *unknown = json_object();

	while (rd_left(&v) > 0) {
		uint8_t flags = rd_u8(&v), type = rd_u8(&v);
		uint16_t n = rd_u16(&v);
		const uint8_t *p = rd_bytes(&v, n);
		char key[8];

		/* RFC 4271 5: passed on with Partial set */
		assert_int_equal(flags & 0xe0, 0xe0);
		if (type == 25) {
			set_list(j, "ipv6_ext_communities", p, n / 20, 20);
			continue;
		}
		snprintf(key, sizeof(key), "%u", type);
		json_object_set_new(unknown, key, hex_json(p, n));
	}
	if (json_object_size(unknown) > 0)
		json_object_set_new(j, "unknown_transitive", unknown);
	else
		json_decref(unknown);
}

static json_t *
attributes_json(const struct attr_set *a, bool with_next_hop)
{
	static const char *const origins[] = {"igp", "egp", "incomplete"};
	json_t *j =
		json_pack("{s:s, s:o}", "origin", origins[a->origin], "as_path", as_path_json(a));

	if (with_next_hop)
		json_object_set_new(j, "next_hop", json_string(addr_text(&a->next_hop)));
	if (a->has & ATTR_HAS_MED)
		json_object_set_new(j, "med", json_integer(a->med));
	if (a->has & ATTR_HAS_LOCAL_PREF)
		json_object_set_new(j, "local_pref", json_integer(a->local_pref));
	if (a->has & ATTR_HAS_ATOMIC_AGGREGATE)
		json_object_set_new(j, "atomic_aggregate", json_true());
	if (a->has & ATTR_HAS_AGGREGATOR)
		json_object_set_new(j, "aggregator",
			json_pack("{s:I, s:s}", "asn", (json_int_t)a->aggregator_asn, "address",
				v4_text(a->aggregator_addr)));
	if (a->has & ATTR_HAS_ORIGINATOR_ID)
		json_object_set_new(j, "originator_id", json_string(v4_text(a->originator_id)));
	set_list(j, "communities", attr_communities(a), a->community_count, 4);
	set_list(j, "cluster_list", attr_cluster_list(a), a->cluster_count, 4);
	set_list(j, "ext_communities", attr_ext_communities(a), a->ext_community_count, 8);
	set_list(j, "large_communities", attr_large_communities(a), a->large_community_count, 12);
	set_unknown(j, a);
	return j;
}

/*
 * Vectors list attributes as received; Keel stores AS_PATH merged with AS4_PATH, unknown attributes
 * ordered by type, and NEXT_HOP only for NLRI fields that use it. Converts `expected` to the stored
 * form (plain sequences suffice for the merge).
 */
static json_t *
expected_attributes(const json_t *decoded, bool with_next_hop)
{
	json_t *j = json_deep_copy(json_object_get(decoded, "attributes"));
	json_t *unknown = json_object_get(j, "unknown_transitive"), *by_type, *v, *as4, *path;
	size_t i, skip;

	if (!with_next_hop)
		json_object_del(j, "next_hop");
	if (unknown) {
		by_type = json_object();
		json_array_foreach(unknown, i, v)
		{
			char key[8];

			snprintf(key, sizeof(key), "%d",
				(int)json_integer_value(json_object_get(v, "type")));
			json_object_set(by_type, key, json_object_get(v, "hex"));
		}
		json_object_set_new(j, "unknown_transitive", by_type);
	}
	as4 = json_object_get(j, "as4_path");
	if (as4) {
		as4 = json_object_get(json_array_get(as4, 0), "asns");
		path = json_object_get(json_array_get(json_object_get(j, "as_path"), 0), "asns");
		skip = json_array_size(path) - json_array_size(as4);
		while (json_array_size(path) > skip)
			json_array_remove(path, skip);
		if (skip == 0)
			json_array_extend(path, as4);
		else
			json_array_append_new(json_object_get(j, "as_path"),
				json_pack("{s:s, s:O}", "type", "sequence", "asns", as4));
		json_object_del(j, "as4_path");
	}
	return j;
}

/* RFC 4364 4.2 */
static json_t *
rd_json(uint64_t rd)
{
	uint32_t high = (uint32_t)(rd >> 16), low = (uint32_t)rd;

	switch (rd >> 48) {
	case 0:
		return json_sprintf("%u:%u", (unsigned)(rd >> 32 & UINT16_MAX), low);
	case 1:
		return json_sprintf("%s:%u", v4_text(high), low & UINT16_MAX);
	case 2:
		return json_sprintf("%u:%u", high, low & UINT16_MAX);
	default:
		return json_sprintf("hex:%016llx", (unsigned long long)rd);
	}
}

/* Keel's text of a distinguisher, where the vectors have the same form. */
static void
check_rd_text(struct vpn_rd rd, const char *expected)
{
	char text[VPN_TEXT_MAX];
	struct vpn_rd again;

	assert_int_equal(vpn_rd_parse(vpn_rd_format(rd, text), &again), 0);
	assert_true(vpn_rd_compare(rd, again) == 0);
	if (text[1] != 'x')
		assert_string_equal(text, expected);
}

static json_t *
labels_json(const struct nlri *n)
{
	struct rd v = rd_init(n->labels, 3u * n->label_count);
	json_t *labels = json_array();

	while (rd_left(&v) > 0) {
		uint32_t high = rd_u16(&v);

		json_array_append_new(labels, json_integer(high << 4 | rd_u8(&v) >> 4));
	}
	assert_int_equal(n->label, json_integer_value(json_array_get(labels, 0)));
	return labels;
}

static json_t *
routes_json(struct rd nlri, struct nlri_form form)
{
	json_t *routes = json_array();
	struct nlri n;

	while (nlri_read_form(&nlri, form, &n)) {
		struct ip_addr a = {.afi = n.prefix.afi};
		json_t *j = json_object();

		memcpy(a.b, n.prefix.b, 16);
		json_object_set_new(
			j, "prefix", json_sprintf("%s/%u", addr_text(&a), n.prefix.len));
		if (form.add_path)
			json_object_set_new(j, "path_id", json_integer(n.path_id));
		if (form.safi == SAFI_VPN) {
			json_object_set_new(j, "rd", rd_json(n.rd.v));
			check_rd_text(n.rd, json_string_value(json_object_get(j, "rd")));
		}
		if (n.label_count > 0)
			json_object_set_new(j, "labels", labels_json(&n));
		json_array_append_new(routes, j);
	}
	assert_false(nlri.bad);
	return routes;
}

static json_t *
field_json(const struct bgp_nlri_field *f)
{
	assert_int_equal(f->family, family_from_afi_safi(f->form.afi, f->form.safi));
	return json_pack("{s:s, s:o}", "family", family_name(f->form.afi, f->form.safi), "routes",
		routes_json(f->nlri, f->form));
}

static json_t *
announced_json(const struct bgp_update *u, unsigned i, const struct attr_set *a)
{
	const struct ip_addr *next_hop = i == 0 ? &a->next_hop : &u->mp_next_hop;
	const struct ip_addr *link_local =
		i == 0 ? &a->next_hop_link_local : &u->mp_next_hop_link_local;
	json_t *j = field_json(&u->announced[i]), *list = json_array();
	char mapped[ADDR_TEXT_MAX + 8];

	/* RFC 4659 3.2.1.2: the vectors have the address of the message, an IPv4 address in IPv6 form */
	snprintf(mapped, sizeof(mapped), "%s%s",
		next_hop->afi == AFI_IPV4 && u->announced[i].form.afi == AFI_IPV6 ? "::ffff:" : "",
		addr_text(next_hop));
	json_array_append_new(list, json_string(mapped));
	if (link_local->afi != AFI_NONE)
		json_array_append_new(list, json_string(addr_text(link_local)));
	json_object_set_new(j, "next_hop", list);
	return j;
}

/* Compares without fields of `expected` that hold no routes. */
static bool
same_fields(const char *what, json_t *got, const json_t *expected)
{
	json_t *want = json_array(), *v;
	size_t i;
	bool ok;

	json_array_foreach(expected, i, v)
	{
		if (json_array_size(json_object_get(v, "routes")) > 0)
			json_array_append(want, v);
	}
	ok = same(what, got, want);
	json_decref(want);
	json_decref(got);
	return ok;
}

static bool
same_update(const json_t *decoded, const struct bgp_update *u, const struct attr_set *a)
{
	bool withdraw = u->error.severity == TREAT_AS_WITHDRAW;
	json_t *announced = json_array(), *withdrawn = json_array(), *got, *want;
	const char *eor = json_string_value(json_object_get(decoded, "end_of_rib"));
	bool ok;

	for (unsigned i = 0; i < u->withdrawn_count; i++)
		json_array_append_new(withdrawn, field_json(&u->withdrawn[i]));
	for (unsigned i = 0; i < u->announced_count; i++) {
		if (withdraw)
			json_array_append_new(withdrawn, field_json(&u->announced[i]));
		else
			json_array_append_new(announced, announced_json(u, i, a));
	}
	ok = same_fields("withdrawn", withdrawn, json_object_get(decoded, "withdrawn"));
	ok = same_fields("announced", announced, json_object_get(decoded, "announced")) && ok;
	if (ok && (u->end_of_rib != (eor != NULL) ||
			  (eor && strcmp(eor, family_name(u->end_of_rib_afi, u->end_of_rib_safi)) !=
					  0)))
		return complain("end of RIB %d, expected %s", u->end_of_rib, eor ? eor : "none");
	if (!ok || !u->has_attrs)
		return ok;
	got = attributes_json(a, !u->announced[0].mp);
	want = expected_attributes(decoded, !u->announced[0].mp);
	ok = same("attributes", got, want);
	json_decref(got);
	json_decref(want);
	return ok;
}

static bool
check_update(const json_t *vector, const json_t *options, const uint8_t *msg, size_t len)
{
	struct bgp_update_options o = update_options(options);
	struct attr_set *a = malloc(ATTR_SET_MAX);
	struct bgp_update u;
	bool ok;

	assert_non_null(a);
	bgp_update_decode(msg, len, &o, a, &u);
	ok = as_expected(vector, &u.error, false);
	if (ok && u.error.severity != SESSION_RESET)
		ok = same_update(json_object_get(vector, "decoded"), &u, a);
	free(a);
	return ok;
}

/* ---- all ---- */

/* Includes headers: a session decodes no message with a faulty header. */
static bool
check(const json_t *vector, const json_t *options, const uint8_t *msg, size_t len)
{
	size_t max = json_is_true(json_object_get(options, "extended_message"))
			     ? BGP_EXTENDED_MSG_MAX
			     : BGP_MSG_MAX;
	uint8_t type = 0;
	uint16_t n = 0;
	struct bgp_error e;

	assert_in_range(len, BGP_HEADER_LEN, BGP_EXTENDED_MSG_MAX);
	e = bgp_header_decode(msg, max, &type, &n);
	if (e.severity != BGP_OK)
		return as_expected(vector, &e, false);
	if (n != len)
		return complain("the header says %u octets of %zu", n, len);
	switch (type) {
	case BGP_OPEN:
		return check_open(vector, options, msg, len);
	case BGP_UPDATE:
		return check_update(vector, options, msg, len);
	case BGP_NOTIFICATION:
		return check_notification(vector, options, msg, len);
	case BGP_ROUTE_REFRESH:
		return check_refresh(vector, options, msg, len);
	default:
		return as_expected(vector, &e, false);
	}
}

/* Column `n` of a Markdown table row, without blanks and back quotes; false: no such column. */
static bool
column(const char *row, unsigned n, char *out, size_t size)
{
	const char *end;

	for (row++; n > 0; n--) {
		row = strchr(row, '|');
		if (!row)
			return false;
		row++;
	}
	end = strchr(row, '|');
	if (!end)
		return false;
	row += strspn(row, " `");
	while (end > row && strchr(" `", end[-1]))
		end--;
	snprintf(out, size, "%.*s", (int)(end - row), row);
	return true;
}

/* The column "Keel" in the table of decisions for a vector. False: no row. */
static bool
decision(const char *name, char *out, size_t size)
{
	FILE *f = fopen(KEEL_SOURCE_ROOT "/docs/decisions/0004-debatable-vectors.md", "r");
	char row[1024], cell[128];
	bool found = false;

	assert_non_null(f);
	while (!found && fgets(row, sizeof(row), f))
		found = row[0] == '|' && column(row, 0, cell, sizeof(cell)) &&
			strcmp(cell, name) == 0 && column(row, 2, out, size);
	fclose(f);
	return found;
}

static bool
as_decided(const char *name)
{
	char decided[64];

	tally.debatable++;
	if (!decision(name, decided, sizeof(decided)))
		return complain("%s, and nothing is decided", outcome);
	if (strcmp(decided, outcome) != 0)
		return complain("%s, decided %s", outcome, decided);
	tally.decided++;
	return true;
}

static void
run_vector(const json_t *vector)
{
	const json_t *options = json_object_get(vector, "options");
	const char *name = json_string_value(json_object_get(vector, "name"));
	bool met;
	size_t len;
	uint8_t *msg = from_hex(json_string_value(json_object_get(vector, "hex")), &len);

	tally.total++;
	complaint[0] = outcome[0] = '\0';
	met = check(vector, options, msg, len);
	tally.met += met;
	if (!met || (json_object_get(vector, "debatable") && !as_decided(name)))
		print_message("%s: %s\n", name, complaint);
	free(msg);
}

static void
run_kind(const char *kind)
{
	memset(&tally, 0, sizeof(tally));
	each_vector(kind, run_vector);
	print_message("%s: %u of %u met, %u debatable of which %u as decided\n", kind, tally.met,
		tally.total, tally.debatable, tally.decided);
	assert_true(tally.total > 0);
	assert_int_equal(tally.met, tally.total);
	assert_int_equal(tally.decided, tally.debatable);
}

static void
test_header(void **state)
{
	run_kind("header");
}

static void
test_open(void **state)
{
	run_kind("open");
}

static void
test_refresh(void **state)
{
	run_kind("refresh");
}

static void
test_notification(void **state)
{
	run_kind("notification");
}

static void
test_update(void **state)
{
	run_kind("update");
}

static void
truncate_vector(const json_t *vector)
{
	size_t len;
	uint8_t *msg = from_hex(json_string_value(json_object_get(vector, "hex")), &len);

	/*
	 * A long message is long by repetition: its first and last cuts suffice, as each cut is a
	 * full decode.
	 */
	if (len <= 2048) {
		for (unsigned bits = 0; bits < 256; bits += 17)
			harness_truncations(msg, len, (uint8_t)bits);
	}
	for (size_t cut = len > 600 ? len - 600 : 0; cut <= len; cut++) {
		uint8_t *p = harness_copy(msg, cut);

		harness_message(p, cut, 0);
		free(p);
	}
	free(msg);
}

/* Fails only by a sanitizer or a check of the harness. */
static void
test_truncations(void **state)
{
	each_vector("header", truncate_vector);
	each_vector("open", truncate_vector);
	each_vector("refresh", truncate_vector);
	each_vector("notification", truncate_vector);
	each_vector("update", truncate_vector);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_truncations),
	};

	if (!vectors_found())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
