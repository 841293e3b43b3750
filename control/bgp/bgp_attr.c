/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp/bgp_attr.h"

#include "control/bgp/bgp_attr_impl.h"
#include "control/bgp/bgp_msg.h"
#include "rib/shard/refused.h"

struct decode;

enum length_rule { ANY_LENGTH, EXACTLY, MULTIPLE_OF /* and not empty */ };
enum who_may { ANYBODY, INTERNAL, INTERNAL_OR_CONFEDERATION, TWO_OCTET_AS };

/*
 * RFC 4271 5 and 6.3, and RFC 7606 7, as columns. `flags_action` differs from `action` for attributes with action discard: for wrong flags
 * RFC 7606 3.c requires treat-as-withdraw.
 */
struct attribute {
	const char *name;
	uint8_t flags;
	uint8_t rule, octets; /* enum length_rule */
	uint8_t from; /* enum who_may: discarded from all other peers */
	uint8_t action, flags_action; /* enum bgp_severity */
	uint8_t (*decode)(struct decode *d, struct rd v);
	uint16_t at, has; /* decode_number(): in struct attr_set; decode_list(): in struct decode */
};

/* State of decoding an UPDATE: views of the message. build() copies after the whole message is checked. */
struct decode {
	const struct bgp_update_options *o;
	struct attr_set *a;
	struct bgp_update *u;
	uint64_t seen[4]; /* a bit for each type, also for malformed attributes */
	bool has_nlri; /* the NLRI field of RFC 4271 is not empty */
	bool has_mp_reach;
	bool reachable; /* the message announces prefixes, of any family */
	bool broken; /* the list of attributes was not readable to the end */
	uint8_t attr_count; /* 2: or more */
	uint8_t refused; /* for bgp_error.refused of the present attribute */
	uint8_t nlri_fault; /* for bgp_error.nlri_fault of the present attribute */
	const struct attribute *row; /* row of the present attribute */
	bool own_next_hop; /* the next hop is an address of this router */
	struct rd as_path, as4_path;
	bool has_as_set; /* in AS_PATH or AS4_PATH */
	struct rd communities, ext_communities, large_communities, cluster_list;
	uint32_t as4_aggregator_asn, as4_aggregator_addr;
	bool has_as4_aggregator;
	struct bgp_nlri_field mp_reach, mp_unreach;
	bool has_mp_unreach, mp_unreach_empty;
	unsigned unknown_count;
	/* last and not cleared, with room for every type; in ascending order of type */
	struct unknown {
		uint8_t type, flags;
		struct rd v;
	} unknown[256];
};

static void
fail(struct decode *d, enum bgp_severity severity, uint8_t subcode, uint8_t type,
	const uint8_t *data, const uint8_t *end)
{
	struct bgp_error e = {
		.severity = (uint8_t)severity,
		.code = ERR_UPDATE,
		.subcode = subcode,
		.attribute = type,
		.refused = d->refused,
		.nlri_fault = d->nlri_fault,
		.data_len = (uint16_t)(end - data),
		.data = data,
	};

	d->refused = REFUSED_NOT;
	d->nlri_fault = NLRI_SOUND;
	d->u->error = bgp_error_stronger(d->u->error, e);
}

/* An error without attribute data, as RFC 4271 6.3 requires for malformed lists. */
static void
fail_plain(struct decode *d, enum bgp_severity severity, uint8_t subcode, uint8_t type)
{
	fail(d, severity, subcode, type, NULL, NULL);
}

/* Decoders return 0 or the subcode of RFC 4271 6.3; the row of the attribute has the severity. */

/* RFC 7606 7.1 */
static uint8_t
decode_origin(struct decode *d, struct rd v)
{
	d->a->origin = rd_u8(&v);
	return d->a->origin <= ORIGIN_INCOMPLETE ? 0 : UPDATE_INVALID_ORIGIN;
}

/* RFC 7606 7.2, RFC 7607 2. `*kinds`: a bit for each segment type met. `*numbers`: number of AS numbers. */
static bool
segments_check(struct rd v, bool as4, unsigned *kinds, unsigned *numbers)
{
	*kinds = *numbers = 0;
	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);
		const uint8_t *p = rd_bytes(&v, count * (as4 ? 4u : 2u));

		if (!p || count == 0 || type < AS_SET || type > AS_CONFED_SET)
			return false;
		*kinds |= 1u << type;
		*numbers += count;
		for (; count > 0; count--) {
			uint32_t asn = 0;

			memcpy(&asn, p, as4 ? 4 : 2);
			if (asn == 0)
				return false;
			p += as4 ? 4 : 2;
		}
	}
	return true;
}

static bool
first_as_is(struct rd v, bool as4, uint32_t asn)
{
	uint8_t type = rd_u8(&v);

	rd_u8(&v);
	if (!as4 && asn > UINT16_MAX)
		asn = AS_TRANS;
	return type == AS_SEQUENCE && (as4 ? rd_u32(&v) : rd_u16(&v)) == asn && !v.bad;
}

static uint8_t
decode_as_path(struct decode *d, struct rd v)
{
	const struct bgp_update_options *o = d->o;
	unsigned kinds, numbers;

	if (!segments_check(v, o->as4, &kinds, &numbers))
		return UPDATE_MALFORMED_AS_PATH;
	/* RFC 5065 5 */
	if (o->external && !o->confederation && (kinds & CONFED_SEGMENTS))
		return UPDATE_MALFORMED_AS_PATH;
	/* RFC 4271 6.3; an empty path has no first AS and is refused too */
	if (o->enforce_first_as && o->external && !o->confederation && o->peer_as != 0 &&
		!first_as_is(v, o->as4, o->peer_as)) {
		d->refused = REFUSED_FIRST_AS;
		return UPDATE_MALFORMED_AS_PATH;
	}
	if (o->max_as_path_length != 0 && numbers > o->max_as_path_length) {
		d->refused = REFUSED_AS_PATH_LENGTH;
		return UPDATE_MALFORMED_AS_PATH;
	}
	d->has_as_set |= (kinds & SET_SEGMENTS) != 0;
	d->as_path = v;
	return 0;
}

/* RFC 6793 6 */
static uint8_t
decode_as4_path(struct decode *d, struct rd v)
{
	unsigned kinds, numbers;

	if (rd_left(&v) < 6 || !segments_check(v, true, &kinds, &numbers))
		return UPDATE_OPTIONAL_ATTRIBUTE;
	d->as4_path = v;
	d->has_as_set |= (kinds & SET_SEGMENTS) != 0;
	/* "AS_CONFED_SEQUENCE and AS_CONFED_SET ... MUST be discarded": as4_path_merge() steps over them */
	return kinds & CONFED_SEGMENTS ? UPDATE_OPTIONAL_ATTRIBUTE : 0;
}

/* RFC 4271 6.3: a valid host address, and not our address (a semantic error: the route is ignored, as here) */
static bool
v4_next_hop_valid(const struct bgp_update_options *o, uint32_t addr)
{
	return addr >> 24 != 0 && addr >> 24 != 127 && addr >> 24 < 224 &&
	       (o->local_id == 0 || addr != o->local_id);
}

/* RFC 7606 7.3 */
static uint8_t
decode_next_hop(struct decode *d, struct rd v)
{
	uint32_t addr = rd_u32(&v);

	/* RFC 4760 3: NEXT_HOP without the NLRI field of RFC 4271 is ignored. */
	if (!d->has_nlri)
		return 0;
	d->own_next_hop = addr == d->o->local_id;
	if (!v4_next_hop_valid(d->o, addr))
		return UPDATE_INVALID_NEXT_HOP;
	d->a->next_hop = addr_from_v4(addr);
	return 0;
}

/* Keeps four octets unchanged at the place named in the row. */
static uint8_t
decode_number(struct decode *d, struct rd v)
{
	uint32_t n = rd_u32(&v);

	memcpy((uint8_t *)d->a + d->row->at, &n, sizeof(n));
	d->a->has |= d->row->has;
	return 0;
}

/* Keeps a view of a list; build() copies the list. */
static uint8_t
decode_list(struct decode *d, struct rd v)
{
	memcpy((uint8_t *)d + d->row->at, &v, sizeof(v));
	return 0;
}

static uint8_t
decode_atomic_aggregate(struct decode *d, struct rd v)
{
	d->a->has |= ATTR_HAS_ATOMIC_AGGREGATE;
	return 0;
}

/* RFC 7606 7.7: the length depends on the width of AS numbers; RFC 7607 2. */
static uint8_t
decode_aggregator(struct decode *d, struct rd v)
{
	uint32_t asn;

	if (rd_left(&v) != (d->o->as4 ? 8 : 6))
		return UPDATE_ATTR_LENGTH;
	asn = d->o->as4 ? rd_u32(&v) : rd_u16(&v);
	if (asn == 0)
		return UPDATE_OPTIONAL_ATTRIBUTE;
	d->a->aggregator_asn = asn;
	d->a->aggregator_addr = rd_u32(&v);
	d->a->has |= ATTR_HAS_AGGREGATOR;
	return 0;
}

static uint8_t
decode_as4_aggregator(struct decode *d, struct rd v)
{
	uint32_t asn = rd_u32(&v);

	if (asn == 0)
		return UPDATE_OPTIONAL_ATTRIBUTE;
	d->as4_aggregator_asn = asn;
	d->as4_aggregator_addr = rd_u32(&v);
	d->has_as4_aggregator = true;
	return 0;
}

/* Keeps an unknown optional transitive attribute for forwarding. RFC 4271 5: a speaker without support sets Partial. */
static void
keep(struct decode *d, uint8_t type, struct rd v)
{
	struct unknown *u = &d->unknown[d->unknown_count++];

	for (; u > d->unknown && u[-1].type > type; u--)
		*u = u[-1];
	u->type = type;
	u->flags = OPTIONAL_TRANSITIVE | FLAG_PARTIAL | FLAG_EXTENDED_LENGTH;
	u->v = v;
}

/* RFC 5701: only the length is checked; the contents are forwarded. */
static uint8_t
decode_ipv6_ext_communities(struct decode *d, struct rd v)
{
	keep(d, ATTR_IPV6_EXT_COMMUNITIES, v);
	return 0;
}

static struct bgp_nlri_field
field_of(const struct decode *d, uint16_t afi, uint8_t safi, bool withdrawn, struct rd nlri)
{
	uint8_t bit = nlri_bit(afi, safi);

	return (struct bgp_nlri_field){
		.family = family_from_afi_safi(afi, safi),
		.form = {.afi = (uint8_t)afi,
			.safi = safi,
			.add_path = d->o->add_path & bit,
			.multiple_labels = d->o->multiple_labels & bit,
			.withdrawn = withdrawn},
		.nlri = nlri,
		.mp = true,
	};
}

/* The fields of RFC 4271 4.3. */
static struct bgp_nlri_field
plain_field_of(const struct decode *d, bool withdrawn, struct rd nlri)
{
	struct bgp_nlri_field f = field_of(d, AFI_IPV4, SAFI_UNICAST, withdrawn, nlri);

	f.mp = false;
	return f;
}

/* Is the family negotiated, and decoded by Keel? */
static bool
in_use(const struct decode *d, uint16_t afi, uint8_t safi)
{
	return d->o->families & nlri_bit(afi, safi);
}

static struct ip_addr
address_at(const uint8_t *p, enum afi afi)
{
	struct ip_addr a = {.afi = (uint8_t)afi};

	memcpy(a.b, p, afi == AFI_IPV4 ? 4 : 16);
	return a;
}

/*
 * RFC 2545 3: the second address is link-local; some speakers send :: or repeat the global address, which Keel ignores. RFC 4271 6.3:
 * our address and the unspecified address are errors. Multicast and ::1 never resolve and are no error; test messages of FRR and ExaBGP
 * contain such addresses.
 */
static bool
v6_next_hop(const struct bgp_update_options *o, const uint8_t *first, const uint8_t *other,
	struct bgp_update *u)
{
	struct ip_addr second = {0};

	u->mp_next_hop = address_at(first, AFI_IPV6);
	if (addr_is_link_local(&u->mp_next_hop))
		u->mp_next_hop.zone = o->zone;
	if (other)
		second = address_at(other, AFI_IPV6);
	if (addr_is_link_local(&second)) {
		u->mp_next_hop_link_local = second;
		u->mp_next_hop_link_local.zone = o->zone;
	}
	if (addr_is_unspecified(&u->mp_next_hop))
		return u->mp_next_hop_link_local.afi != AFI_NONE;
	return o->local_v6.afi == AFI_NONE || !addr_equal(&u->mp_next_hop, &o->local_v6);
}

/* RFC 4659 3.2.1.2: the IPv4 next hop of a VPN-IPv6 route, as an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2). False: another address. */
static bool
mapped_next_hop(const uint8_t *octets, struct ip_addr *out)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (memcmp(octets, mapped, sizeof(mapped)) != 0)
		return false;
	*out = address_at(octets + sizeof(mapped), AFI_IPV4);
	return true;
}

/*
 * RFC 4760 3, RFC 2545 3, RFC 8950 3: one address, or a global and a link-local address. In VPN families each address follows a route
 * distinguisher of zero (RFC 4364 4.3.2, RFC 4659 3.2.1), which is ignored.
 */
static bool
decode_mp_next_hop(struct decode *d, const struct nlri_form *form, struct rd v)
{
	const struct bgp_update_options *o = d->o;
	size_t len = rd_left(&v), rd_len = form->safi == SAFI_VPN ? 8 : 0, v6_len = rd_len + 16;
	bool valid;

	if (form->afi == AFI_IPV4 && len == rd_len + 4) {
		d->u->mp_next_hop = address_at(v.p + rd_len, AFI_IPV4);
		valid = v4_next_hop_valid(o, addr_v4(&d->u->mp_next_hop));
	} else if ((form->afi == AFI_IPV4 &&
			   !(o->extended_next_hop & nlri_bit(form->afi, form->safi))) ||
		   (len != v6_len && len != 2 * v6_len)) {
		return false;
	} else if (rd_len > 0 && form->afi == AFI_IPV6 &&
		   mapped_next_hop(v.p + rd_len, &d->u->mp_next_hop)) {
		valid = v4_next_hop_valid(o, addr_v4(&d->u->mp_next_hop));
	} else {
		valid = v6_next_hop(
			o, v.p + rd_len, len == 2 * v6_len ? v.p + v6_len + rd_len : NULL, d->u);
	}
	d->own_next_hop = d->u->mp_next_hop.afi == AFI_IPV4
				  ? addr_v4(&d->u->mp_next_hop) == o->local_id
				  : addr_equal(&d->u->mp_next_hop, &o->local_v6);
	if (!valid)
		fail(d, TREAT_AS_WITHDRAW, UPDATE_INVALID_NEXT_HOP, ATTR_MP_REACH, v.p, v.end);
	return true;
}

static uint8_t
nlri_refuse(struct decode *d, enum nlri_fault fault)
{
	d->nlri_fault = (uint8_t)fault;
	return UPDATE_OPTIONAL_ATTRIBUTE;
}

/* RFC 8277 2.1: a prefix with more labels than we announced is withdrawn, with all others of the UPDATE. */
static void
labels_limit(struct decode *d, const struct bgp_nlri_field *f)
{
	uint8_t max = d->o->labels_max;

	if (!f->form.multiple_labels || max == 0 || max == UINT8_MAX ||
		nlri_labels_most(f->nlri, f->form) <= max)
		return;
	fail_plain(d, TREAT_AS_WITHDRAW, nlri_refuse(d, NLRI_TOO_MANY_LABELS), ATTR_MP_REACH);
}

static bool
memberships(const struct decode *d, uint16_t afi, uint8_t safi)
{
	return d->o->rt_constraint && afi == AFI_IPV4 && safi == SAFI_RT_CONSTRAINT;
}

/* RFC 7606 5.3: as any other field that cannot be parsed. */
static uint8_t
memberships_check(struct decode *d, struct rd v)
{
	struct rt_nlri n;

	while (rt_nlri_read(&v, &n))
		;
	return v.bad ? nlri_refuse(d, NLRI_CUT) : 0;
}

/* RFC 7606 5.3, 7.11 */
static uint8_t
decode_mp_reach(struct decode *d, struct rd v)
{
	uint16_t afi = rd_u16(&v);
	uint8_t safi = rd_u8(&v);
	struct rd next_hop = rd_sub(&v, rd_u8(&v));
	struct bgp_nlri_field f;

	rd_u8(&v); /* reserved */
	if (v.bad)
		return nlri_refuse(d, NLRI_ATTRIBUTE_CUT);
	d->has_mp_reach = true;
	if (memberships(d, afi, safi)) {
		if (rd_left(&next_hop) != 4 && rd_left(&next_hop) != 16)
			return nlri_refuse(d, NLRI_NEXT_HOP_LENGTH);
		d->reachable |= rd_left(&v) > 0;
		d->u->rt_announced = v;
		return memberships_check(d, v);
	}
	if (!in_use(d, afi, safi)) {
		d->reachable = true;
		return 0;
	}
	f = field_of(d, afi, safi, false, v);
	if (!decode_mp_next_hop(d, &f.form, next_hop))
		return nlri_refuse(d, NLRI_NEXT_HOP_LENGTH);
	if (!nlri_check_form(v, f.form))
		return nlri_refuse(d, nlri_fault_find(v, f.form));
	labels_limit(d, &f);
	d->reachable |= rd_left(&v) > 0;
	d->mp_reach = f;
	return 0;
}

/* RFC 7606 5.3, 7.12 */
static uint8_t
decode_mp_unreach(struct decode *d, struct rd v)
{
	uint16_t afi = rd_u16(&v);
	uint8_t safi = rd_u8(&v);
	struct bgp_nlri_field f = field_of(d, afi, safi, true, v);

	if (v.bad)
		return nlri_refuse(d, NLRI_ATTRIBUTE_CUT);
	d->has_mp_unreach = true;
	d->mp_unreach_empty = rd_left(&v) == 0;
	d->mp_unreach = f;
	if (memberships(d, afi, safi)) {
		d->mp_unreach.nlri = rd_init(v.end, 0);
		d->u->rt_withdrawn = v;
		d->u->rt_end_of_rib = d->mp_unreach_empty;
		return memberships_check(d, v);
	}
	if (!in_use(d, afi, safi)) {
		d->mp_unreach.nlri = rd_init(v.end, 0);
		return 0;
	}
	return nlri_check_form(v, f.form) ? 0 : nlri_refuse(d, nlri_fault_find(v, f.form));
}

static const struct attribute attributes[ATTR_TYPE_COUNT] = {
	[ATTR_ORIGIN] = {"origin", WELL_KNOWN, EXACTLY, 1, ANYBODY, TREAT_AS_WITHDRAW,
		TREAT_AS_WITHDRAW, decode_origin},
	[ATTR_AS_PATH] = {"as-path", WELL_KNOWN, ANY_LENGTH, 0, ANYBODY, TREAT_AS_WITHDRAW,
		TREAT_AS_WITHDRAW, decode_as_path},
	[ATTR_NEXT_HOP] = {"next-hop", WELL_KNOWN, EXACTLY, 4, ANYBODY, TREAT_AS_WITHDRAW,
		TREAT_AS_WITHDRAW, decode_next_hop},
	[ATTR_MED] = {"med", OPTIONAL, EXACTLY, 4, ANYBODY, TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW,
		decode_number, offsetof(struct attr_set, med), ATTR_HAS_MED},
	[ATTR_LOCAL_PREF] = {"local-pref", WELL_KNOWN, EXACTLY, 4, INTERNAL_OR_CONFEDERATION,
		TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_number,
		offsetof(struct attr_set, local_pref), ATTR_HAS_LOCAL_PREF},
	[ATTR_ATOMIC_AGGREGATE] = {"atomic-aggregate", WELL_KNOWN, EXACTLY, 0, ANYBODY,
		ATTRIBUTE_DISCARD, TREAT_AS_WITHDRAW, decode_atomic_aggregate},
	[ATTR_AGGREGATOR] = {"aggregator", OPTIONAL_TRANSITIVE, ANY_LENGTH, 0, ANYBODY,
		ATTRIBUTE_DISCARD, TREAT_AS_WITHDRAW, decode_aggregator},
	[ATTR_COMMUNITIES] = {"communities", OPTIONAL_TRANSITIVE, MULTIPLE_OF, 4, ANYBODY,
		TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_list,
		offsetof(struct decode, communities)},
	[ATTR_ORIGINATOR_ID] = {"originator-id", OPTIONAL, EXACTLY, 4, INTERNAL, TREAT_AS_WITHDRAW,
		TREAT_AS_WITHDRAW, decode_number, offsetof(struct attr_set, originator_id),
		ATTR_HAS_ORIGINATOR_ID},
	[ATTR_CLUSTER_LIST] = {"cluster-list", OPTIONAL, MULTIPLE_OF, 4, INTERNAL,
		TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_list,
		offsetof(struct decode, cluster_list)},
	[ATTR_MP_REACH] = {"mp-reach-nlri", OPTIONAL, ANY_LENGTH, 0, ANYBODY, SESSION_RESET,
		SESSION_RESET, decode_mp_reach},
	[ATTR_MP_UNREACH] = {"mp-unreach-nlri", OPTIONAL, ANY_LENGTH, 0, ANYBODY, SESSION_RESET,
		SESSION_RESET, decode_mp_unreach},
	[ATTR_EXT_COMMUNITIES] = {"ext-communities", OPTIONAL_TRANSITIVE, MULTIPLE_OF, 8, ANYBODY,
		TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_list,
		offsetof(struct decode, ext_communities)},
	[ATTR_AS4_PATH] = {"as4-path", OPTIONAL_TRANSITIVE, ANY_LENGTH, 0, TWO_OCTET_AS,
		ATTRIBUTE_DISCARD, ATTRIBUTE_DISCARD, decode_as4_path},
	[ATTR_AS4_AGGREGATOR] = {"as4-aggregator", OPTIONAL_TRANSITIVE, EXACTLY, 8, TWO_OCTET_AS,
		ATTRIBUTE_DISCARD, ATTRIBUTE_DISCARD, decode_as4_aggregator},
	[ATTR_IPV6_EXT_COMMUNITIES] = {"ipv6-ext-communities", OPTIONAL_TRANSITIVE, MULTIPLE_OF, 20,
		ANYBODY, TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_ipv6_ext_communities},
	[ATTR_LARGE_COMMUNITIES] = {"large-communities", OPTIONAL_TRANSITIVE, MULTIPLE_OF, 12,
		ANYBODY, TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_list,
		offsetof(struct decode, large_communities)},
	/* RFC 9234 5 */
	[ATTR_OTC] = {"only-to-customer", OPTIONAL_TRANSITIVE, EXACTLY, 4, ANYBODY,
		TREAT_AS_WITHDRAW, TREAT_AS_WITHDRAW, decode_number, offsetof(struct attr_set, otc),
		ATTR_HAS_OTC},
};

static const struct attribute *
descriptor(uint8_t type)
{
	return type < ATTR_TYPE_COUNT && attributes[type].decode ? &attributes[type] : NULL;
}

uint8_t
bgp_attr_flags(uint8_t type)
{
	return attributes[type].flags;
}

unsigned
bgp_attr_octets(uint8_t type, bool *multiple)
{
	*multiple = attributes[type].rule == MULTIPLE_OF;
	return attributes[type].octets;
}

bool
bgp_attr_known(uint8_t type)
{
	return descriptor(type) != NULL;
}

const char *
bgp_attr_name(uint8_t type)
{
	const struct attribute *t = descriptor(type);

	return t ? t->name : "unknown";
}

static bool
length_fits(const struct attribute *t, size_t len)
{
	switch (t->rule) {
	case EXACTLY:
		return len == t->octets;
	case MULTIPLE_OF:
		return len > 0 && len % t->octets == 0;
	default:
		return true;
	}
}

static bool
sender_may(const struct attribute *t, const struct bgp_update_options *o)
{
	switch (t->from) {
	case INTERNAL: /* RFC 7606 7.9, 7.10 */
		return !o->external;
	case INTERNAL_OR_CONFEDERATION: /* RFC 7606 7.5, RFC 5065 4 */
		return !o->external || o->confederation;
	case TWO_OCTET_AS: /* RFC 6793 6 */
		return !o->as4;
	default:
		return true;
	}
}

/* Is the attribute the first of the type? False: a repetition, RFC 7606 3.g. */
static bool
first_of_type(struct decode *d, uint8_t type)
{
	uint64_t bit = UINT64_C(1) << (type & 63);

	if (d->seen[type >> 6] & bit)
		return false;
	d->seen[type >> 6] |= bit;
	return true;
}

static bool
was_seen(const struct decode *d, uint8_t type)
{
	return d->seen[type >> 6] >> (type & 63) & 1;
}

static void
attribute(struct decode *d, const uint8_t *start, uint8_t flags, uint8_t type, struct rd v)
{
	const struct attribute *t = descriptor(type);
	bool mp = type == ATTR_MP_REACH || type == ATTR_MP_UNREACH;
	uint8_t subcode = 0;

	if (!first_of_type(d, type)) {
		fail(d, mp ? SESSION_RESET : ATTRIBUTE_DISCARD, UPDATE_MALFORMED_LIST, type, start,
			v.end);
		return;
	}
	if (!t) {
		/* RFC 4271 6.3, unchanged by RFC 7606. */
		if (!(flags & FLAG_OPTIONAL))
			fail(d, SESSION_RESET, UPDATE_UNRECOGNIZED_WELL_KNOWN, type, start, v.end);
		else if (flags & FLAG_TRANSITIVE)
			keep(d, type, v);
		return;
	}
	if ((flags & KIND_MASK) != t->flags) {
		fail(d, t->flags_action, mp ? UPDATE_OPTIONAL_ATTRIBUTE : UPDATE_ATTR_FLAGS, type,
			start, v.end);
		return;
	}
	if (!sender_may(t, d->o)) {
		fail(d, ATTRIBUTE_DISCARD, UPDATE_OPTIONAL_ATTRIBUTE, type, start, v.end);
		return;
	}
	d->row = t;
	subcode = length_fits(t, rd_left(&v)) ? t->decode(d, v) : UPDATE_ATTR_LENGTH;
	if (subcode != 0)
		fail(d, t->action, subcode, type, start, v.end);
}

static void
attribute_list(struct decode *d, struct rd r)
{
	while (rd_left(&r) > 0) {
		const uint8_t *start = r.p, *end = r.end;
		uint8_t flags = rd_u8(&r);
		uint8_t type = rd_u8(&r);
		uint16_t len = flags & FLAG_EXTENDED_LENGTH ? rd_u16(&r) : rd_u8(&r);
		bool header = !r.bad;
		struct rd v = rd_sub(&r, len);

		if (r.bad) {
			/* RFC 7606 4; 3.j: announced and withdrawn prefixes are unknown */
			bool mp = header && (type == ATTR_MP_REACH || type == ATTR_MP_UNREACH);

			fail(d, mp ? SESSION_RESET : TREAT_AS_WITHDRAW,
				mp ? UPDATE_OPTIONAL_ATTRIBUTE : UPDATE_MALFORMED_LIST,
				header ? type : 0, start, end);
			d->broken = true;
			return;
		}
		if (d->attr_count < 2)
			d->attr_count++;
		attribute(d, start, flags, type, v);
		if (d->u->error.severity == SESSION_RESET)
			return;
	}
}

/* RFC 7606 3.d, RFC 4271 5: a malformed attribute is not missing. */
static void
mandatory(struct decode *d)
{
	static const uint8_t missing[] = {
		ATTR_ORIGIN, ATTR_AS_PATH, ATTR_NEXT_HOP, ATTR_LOCAL_PREF};

	if (d->broken || !(d->has_nlri || d->has_mp_reach))
		return;
	for (size_t i = 0; i < sizeof(missing); i++) {
		if (was_seen(d, missing[i]) || (missing[i] == ATTR_NEXT_HOP && !d->has_nlri) ||
			(missing[i] == ATTR_LOCAL_PREF && d->o->external))
			continue;
		fail(d, TREAT_AS_WITHDRAW, UPDATE_MISSING_WELL_KNOWN, missing[i], &missing[i],
			&missing[i] + 1);
	}
}

/* Number of hops by RFC 6793 4.2.3: a set counts once, confederation segments do not count. */
static unsigned
path_hops(struct rd v, unsigned width)
{
	unsigned hops = 0;

	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);

		rd_bytes(&v, (size_t)count * width);
		hops += type == AS_SEQUENCE ? count : type == AS_SET;
	}
	return hops;
}

/* The first `hops` hops of a two-octet AS_PATH, with the adjacent confederation segments. */
static void
write_leading(struct wr *w, struct rd v, unsigned hops)
{
	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);
		unsigned take = count;

		if (type == AS_SEQUENCE)
			take = count < hops ? count : hops;
		else if (type == AS_SET && hops == 0)
			take = 0;
		if (take > 0)
			write_segment(w, &v, false, type, take);
		if (take < count)
			return;
		hops -= type == AS_SEQUENCE ? take : type == AS_SET;
	}
}

/*
 * RFC 6793 4.2.3: both aggregators are present, and AGGREGATOR is not AS_TRANS: a speaker with two-octet AS numbers aggregated the route
 * later, so AS4_PATH and AS4_AGGREGATOR are out of date.
 */
static bool
aggregated_since(const struct decode *d)
{
	return d->has_as4_aggregator && (d->a->has & ATTR_HAS_AGGREGATOR) &&
	       d->a->aggregator_asn != AS_TRANS;
}

/* RFC 6793 4.2.3 */
static void
as4_path_merge(struct wr *w, const struct decode *d)
{
	unsigned hops = path_hops(d->as_path, 2);
	unsigned hops4 = path_hops(d->as4_path, 4);
	struct rd v = d->as4_path;

	/* AS_PATH is shorter: a speaker without AS4_PATH aggregated the route. AS4_PATH is ignored. */
	if (hops4 == 0 || hops < hops4 || aggregated_since(d)) {
		write_leading(w, d->as_path, UINT32_MAX);
		return;
	}
	write_leading(w, d->as_path, hops - hops4);
	while (rd_left(&v) > 0) {
		uint8_t type = rd_u8(&v);
		unsigned count = rd_u8(&v);

		if (1u << type & CONFED_SEGMENTS)
			rd_bytes(&v, (size_t)count * 4);
		else
			write_segment(w, &v, true, type, count);
	}
}

#define LARGE_SLOTS 8192 /* a power of two above 65535 / 12 */
#define LARGE_FEW 12 /* comparing up to 12 in pairs is faster than clearing the slots */

static unsigned
write_few_large(struct wr *w, struct rd v)
{
	const uint8_t *out = w->p;
	unsigned count = 0, i;

	while (rd_left(&v) > 0) {
		const uint8_t *p = rd_bytes(&v, LARGE_LEN);

		for (i = 0; i < count && memcmp(out + i * LARGE_LEN, p, LARGE_LEN) != 0;)
			i++;
		if (i < count)
			continue;
		wr_bytes(w, p, LARGE_LEN);
		if (w->bad)
			break;
		count++;
	}
	return count;
}

/* RFC 8092 5: removes repetitions and keeps the first. By a hash table, for an extended message can hold 5,461 communities. */
static unsigned
write_large(struct wr *w, struct rd v)
{
	uint16_t slots[LARGE_SLOTS];
	uint8_t *out = w->p;
	unsigned count = 0;

	if (rd_left(&v) <= LARGE_FEW * LARGE_LEN)
		return write_few_large(w, v);
	memset(slots, 0, sizeof(slots));
	while (rd_left(&v) > 0) {
		const uint8_t *p = rd_bytes(&v, LARGE_LEN);
		uint64_t a;
		uint32_t b, i;

		memcpy(&a, p, 8);
		memcpy(&b, p + 8, 4);
		i = (uint32_t)hash_words(a, b, 0) % LARGE_SLOTS;
		while (slots[i] != 0 && memcmp(out + (slots[i] - 1) * LARGE_LEN, p, LARGE_LEN) != 0)
			i = (i + 1) % LARGE_SLOTS;
		if (slots[i] != 0)
			continue;
		wr_bytes(w, p, LARGE_LEN);
		if (w->bad)
			break;
		slots[i] = (uint16_t)++count;
	}
	return count;
}

static void
write_unknown(struct wr *w, const struct decode *d)
{
	for (unsigned i = 0; i < d->unknown_count; i++) {
		const struct unknown *u = &d->unknown[i];

		wr_u8(w, u->flags);
		wr_u8(w, u->type);
		wr_u16(w, (uint16_t)rd_left(&u->v));
		wr_bytes(w, u->v.p, rd_left(&u->v));
	}
}

static void
aggregator_merge(const struct decode *d)
{
	/* AS4_AGGREGATOR without AGGREGATOR has no meaning. */
	if (!d->has_as4_aggregator || !(d->a->has & ATTR_HAS_AGGREGATOR) || aggregated_since(d))
		return;
	d->a->aggregator_asn = d->as4_aggregator_asn;
	d->a->aggregator_addr = d->as4_aggregator_addr;
}

/* Copies the variable parts in order. False: too long for a set, possible only in an extended message. */
static bool
build(struct decode *d)
{
	struct attr_set *a = d->a;
	struct wr w = wr_init(a->var, ATTR_SET_MAX - sizeof(*a));
	size_t path_len, before;

	if (d->o->as4)
		wr_bytes(&w, d->as_path.p, rd_left(&d->as_path));
	else
		as4_path_merge(&w, d);
	path_len = wr_len(&w);
	wr_bytes(&w, d->communities.p, rd_left(&d->communities));
	wr_bytes(&w, d->ext_communities.p, rd_left(&d->ext_communities));
	a->large_community_count = (uint16_t)write_large(&w, d->large_communities);
	wr_bytes(&w, d->cluster_list.p, rd_left(&d->cluster_list));
	before = wr_len(&w);
	write_unknown(&w, d);
	if (w.bad || path_len > UINT16_MAX || wr_len(&w) - before > UINT16_MAX)
		return false;
	a->as_path_len = (uint16_t)path_len;
	a->community_count = (uint16_t)(rd_left(&d->communities) / 4);
	a->ext_community_count = (uint16_t)(rd_left(&d->ext_communities) / 8);
	a->cluster_count = (uint16_t)(rd_left(&d->cluster_list) / 4);
	a->unknown_len = (uint16_t)(wr_len(&w) - before);
	aggregator_merge(d);
	attr_set_derive(a);
	return true;
}

static void
announce(struct decode *d, struct rd nlri)
{
	struct bgp_update *u = d->u;

	if (rd_left(&nlri) > 0 && in_use(d, AFI_IPV4, SAFI_UNICAST))
		u->announced[u->announced_count++] = plain_field_of(d, false, nlri);
	if (rd_left(&d->mp_reach.nlri) > 0)
		u->announced[u->announced_count++] = d->mp_reach;
}

static void
withdraw(struct decode *d, struct rd withdrawn)
{
	struct bgp_update *u = d->u;

	if (rd_left(&withdrawn) > 0 && in_use(d, AFI_IPV4, SAFI_UNICAST))
		u->withdrawn[u->withdrawn_count++] = plain_field_of(d, true, withdrawn);
	if (rd_left(&d->mp_unreach.nlri) > 0)
		u->withdrawn[u->withdrawn_count++] = d->mp_unreach;
}

/* RFC 4724 2 */
static void
end_of_rib(struct decode *d, struct rd withdrawn, struct rd nlri)
{
	struct bgp_nlri_field f = d->has_mp_unreach ? d->mp_unreach : plain_field_of(d, true, nlri);

	if (rd_left(&withdrawn) > 0 || rd_left(&nlri) > 0 || d->broken ||
		nlri_bit(f.form.afi, f.form.safi) == 0)
		return;
	if (d->attr_count > 0 && !(d->attr_count == 1 && d->has_mp_unreach && d->mp_unreach_empty))
		return;
	d->u->end_of_rib = true;
	d->u->end_of_rib_family = f.family;
	d->u->end_of_rib_afi = f.form.afi;
	d->u->end_of_rib_safi = f.form.safi;
}

/* True if the readable path, AS_PATH or AS4_PATH, has our AS number. */
static bool
path_has_own(const struct decode *d)
{
	uint32_t asn = d->o->own_as;
	bool new = !d->o->as4 &&asn > UINT16_MAX, as4 = d->o->as4 || new, has = false;
	struct rd v = new ? d->as4_path : d->as_path;

	while (rd_left(&v) > 0 && !v.bad) {
		unsigned count;

		rd_u8(&v);
		for (count = rd_u8(&v); count > 0; count--)
			has |= (as4 ? rd_u32(&v) : rd_u16(&v)) == asn;
	}
	return has;
}

/*
 * RFC 4271 9.1.2: a route of this router that a neighbour sends back is a loop before it is anything else. On a shared subnet the route still
 * has our next hop, and from a customer the OTC attribute that we added.
 */
static void
own_returns(struct decode *d)
{
	struct bgp_error *e = &d->u->error;

	if (e->severity == TREAT_AS_WITHDRAW && d->o->own_as != 0 &&
		((e->subcode == UPDATE_INVALID_NEXT_HOP && d->own_next_hop) ||
			e->refused == REFUSED_ROUTE_LEAK) &&
		path_has_own(d))
		e->refused = REFUSED_AS_LOOP;
}

/* RFC 9234 5: unicast routes. A route that leaked is treated as withdrawn. */
static void
only_to_customer(struct decode *d)
{
	enum family f = d->u->announced[0].family;

	if (f >= FAMILY_COUNT || family_safi(f) != SAFI_UNICAST ||
		role_receive((enum session_role)d->o->role, d->o->peer_as, d->a))
		return;
	d->u->has_attrs = false;
	d->refused = REFUSED_ROUTE_LEAK;
	fail_plain(d, TREAT_AS_WITHDRAW, UPDATE_OPTIONAL_ATTRIBUTE, ATTR_OTC);
}

/* Checks and results after all attributes were read. */
static void
conclude(struct decode *d, struct rd withdrawn, struct rd nlri)
{
	bool add_path = d->o->add_path & 1u << FAMILY_IPV4_UNICAST;
	struct bgp_update *u = d->u;

	/* RFC 4271 6.3; RFC 7606 5.3 */
	if (!nlri_check(withdrawn, FAMILY_IPV4_UNICAST, add_path) ||
		!nlri_check(nlri, FAMILY_IPV4_UNICAST, add_path)) {
		fail_plain(d, SESSION_RESET, UPDATE_INVALID_NETWORK, 0);
		return;
	}
	mandatory(d);
	/* RFC 7606 5.2: without a readable prefix the routes to withdraw are unknown. */
	if (u->error.severity == TREAT_AS_WITHDRAW && !d->reachable) {
		fail_plain(d, SESSION_RESET, UPDATE_MALFORMED_LIST, u->error.attribute);
		return;
	}
	announce(d, nlri);
	withdraw(d, withdrawn);
	end_of_rib(d, withdrawn, nlri);
	if (u->announced_count == 0 || u->error.severity >= TREAT_AS_WITHDRAW)
		return;
	if (u->announced[0].mp) {
		d->a->next_hop = u->mp_next_hop;
		d->a->next_hop_link_local = u->mp_next_hop_link_local;
	}
	/* RFC 9774 3 */
	if (d->has_as_set && d->o->refuse_as_sets) {
		d->refused = REFUSED_AS_SET;
		fail_plain(d, TREAT_AS_WITHDRAW, UPDATE_MALFORMED_AS_PATH, ATTR_AS_PATH);
		return;
	}
	u->has_attrs = build(d);
	if (!u->has_attrs)
		fail_plain(d, TREAT_AS_WITHDRAW, UPDATE_MALFORMED_LIST, 0);
	else
		only_to_customer(d);
}

void
bgp_update_decode(const uint8_t *msg, size_t len, const struct bgp_update_options *o,
	struct attr_set *attrs, struct bgp_update *out)
{
	struct rd r, withdrawn, list;
	struct decode d;

	memset(out, 0, sizeof(*out));
	memset(attrs, 0, sizeof(*attrs));
	memset(&d, 0, offsetof(struct decode, unknown));
	d.o = o;
	d.a = attrs;
	d.u = out;
	if (len < BGP_HEADER_LEN + 4) {
		out->error = (struct bgp_error){.severity = SESSION_RESET,
			.code = ERR_HEADER,
			.subcode = HEADER_BAD_LENGTH};
		return;
	}
	r = rd_init(msg + BGP_HEADER_LEN, len - BGP_HEADER_LEN);
	withdrawn = rd_sub(&r, rd_u16(&r));
	list = rd_sub(&r, rd_u16(&r));
	if (r.bad) { /* RFC 4271 6.3: the lengths do not fit the message */
		fail_plain(&d, SESSION_RESET, UPDATE_MALFORMED_LIST, 0);
		return;
	}
	d.has_nlri = d.reachable = rd_left(&r) > 0;
	attribute_list(&d, list);
	if (out->error.severity != SESSION_RESET)
		conclude(&d, withdrawn, r);
	own_returns(&d);
	if (out->error.severity == SESSION_RESET) {
		out->announced_count = 0;
		out->withdrawn_count = 0;
	}
}
