/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/attr_packed.h"

#include "rib/table/attr.h"

#include <string.h>

/*
 * Layout, without padding:
 *
 *   the four octets of the head
 *   with MORE_EXTRAS: 16 bits (enum extra), then the extras present, in the order of their bits
 *   NEXT_HOP (4 or 16 octets), MED (4), LOCAL_PREF (4)
 *   AS_PATH: of a single AS_SEQUENCE the numbers alone (number_put()), else the segments of struct
 *   attr_set
 *   communities and all that follows them in struct attr_set
 *
 * Integers are in host order. A set that this layout cannot express (a value without its
 * attr_bit, derived fields that do not fit the path) is stored verbatim behind the head.
 */
struct attr_packed {
	uint8_t bits; /* enum head_bit */
	uint8_t more; /* enum head_more */
	uint8_t hops; /* numbers of a single AS_SEQUENCE */
	uint8_t units; /* length of these numbers in pairs of octets */
	uint8_t body[];
};

enum head_bit {
	HEAD_ORIGIN = 0x03,
	HEAD_NEXT_HOP = 0x0c,
	HEAD_NEXT_HOP_V4 = 0x04,
	HEAD_NEXT_HOP_V6 = 0x08,
	HEAD_MED = 0x10,
	HEAD_LOCAL_PREF = 0x20,
	HEAD_ATOMIC_AGGREGATE = 0x40,
	HEAD_VERBATIM = 0x80, /* the body is a struct attr_set */
};

enum head_more {
	MORE_COMMUNITIES = 0x7f, /* number of communities, or COUNTED */
	COUNTED = MORE_COMMUNITIES, /* EXTRA_COMMUNITIES has the number */
	MORE_EXTRAS = 0x80,
};

enum extra {
	EXTRA_NEXT_HOP, /* with a zone, or of no usual form: struct ip_addr */
	EXTRA_LINK_LOCAL, /* struct ip_addr */
	EXTRA_AGGREGATOR, /* AS number, address */
	EXTRA_ORIGINATOR_ID,
	EXTRA_OTC,
	EXTRA_UNUSED, /* the byte of that name */
	EXTRA_PATH, /* other than a single AS_SEQUENCE: length */
	EXTRA_COMMUNITIES, /* numbers of list entries, and a length: 16 bits each */
	EXTRA_EXT_COMMUNITIES,
	EXTRA_LARGE_COMMUNITIES,
	EXTRA_CLUSTER_LIST,
	EXTRA_UNKNOWN,
	EXTRA_LLGR_STALE, /* of no length */
	EXTRAS,
};

static const uint8_t extra_size[EXTRAS] = {
	sizeof(struct ip_addr), sizeof(struct ip_addr), 8, 4, 4, 1, 2, 2, 2, 2, 2, 2, 0};

#define FIXED sizeof(struct attr_set)
#define HEAD sizeof(struct attr_packed)
#define KNOWN_BITS                                                                                 \
	(ATTR_HAS_MED | ATTR_HAS_LOCAL_PREF | ATTR_HAS_ATOMIC_AGGREGATE | ATTR_HAS_AGGREGATOR |    \
		ATTR_HAS_ORIGINATOR_ID | ATTR_HAS_OTC | ATTR_LLGR_STALE)

static_assert(HEAD == 4, "a value stored verbatim is aligned");

/* ---- AS numbers ---- */

/*
 * Two octets below 0xff00; four below 0xff0000, with 0xff and the upper octet first; else six, with
 * 0xffff first.
 */
#define NUMBER_2 0xff00u
#define NUMBER_4 0xff0000u
#define AS_SEQUENCE 2

static inline uint16_t
load_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t
load_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint8_t *
store_u16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
store_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/*
 * Writes four octets, or six, at `w`; the end of the number may come before. Without a branch for
 * the usual numbers: their lengths are random.
 */
static inline uint8_t *
number_put(uint8_t *w, uint32_t asn)
{
	bool wide = asn >= NUMBER_2;

	if (__builtin_expect(asn >= NUMBER_4, 0))
		return store_u32(store_u16(w, UINT16_MAX), asn);
	(void)store_u16(store_u16(w, (uint16_t)(wide ? NUMBER_2 | asn >> 16 : asn)), (uint16_t)asn);
	return w + 2 + 2 * wide;
}

static inline const uint8_t *
number_take_last(const uint8_t *p, uint32_t *asn)
{
	uint32_t v = load_u16(p);

	p += 2;
	if (v < NUMBER_2) {
		*asn = v;
		return p;
	}
	if (v != UINT16_MAX) {
		*asn = (v & 0xff) << 16 | load_u16(p);
		return p + 2;
	}
	*asn = load_u32(p);
	return p + 4;
}

/* As number_take_last(), for a number that two more octets of the path follow: without a branch. */
static inline const uint8_t *
number_take(const uint8_t *p, uint32_t *asn)
{
	uint32_t v = load_u16(p), low = load_u16(p + 2);
	bool wide = v >= NUMBER_2;

	if (__builtin_expect(v == UINT16_MAX, 0))
		return number_take_last(p, asn);
	*asn = wide ? (v & 0xff) << 16 | low : v;
	return p + 2 + 2 * wide;
}

/*
 * Packs the path if it is empty or a single AS_SEQUENCE. Sets hops and units; returns the end.
 * NULL: the path is stored as segments, also if that is shorter.
 */
static uint8_t *
path_put(const struct attr_set *a, struct attr_packed *out, uint8_t *w)
{
	const uint8_t *p = attr_as_path(a);
	uint8_t *begin = w, *longest = w + a->as_path_len - 2;
	uint32_t asn = 0;

	out->hops = out->units = 0;
	if (a->as_path_len == 0)
		return a->as_path_hops == 0 && a->first_asn == 0 && a->origin_asn == 0 ? w : NULL;
	if (a->as_path_len < 6 || p[0] != AS_SEQUENCE || a->as_path_len != 2 + 4u * p[1] ||
		a->as_path_hops != p[1] || a->first_asn != __builtin_bswap32(load_u32(p + 2)))
		return NULL;
	out->hops = p[1];
	p += 2;
	for (unsigned i = 0; i < out->hops && w <= longest; i++, p += 4) {
		asn = __builtin_bswap32(load_u32(p));
		w = number_put(w, asn);
	}
	/* too long: many numbers of six octets, or above the limit of `units` */
	if (w > longest || w - begin > 2 * UINT8_MAX || a->origin_asn != asn)
		return NULL;
	out->units = (uint8_t)((w - begin) / 2);
	return w;
}

/* ---- packing ---- */

static bool
addr_is_zero(const struct ip_addr *a)
{
	static const struct ip_addr zero;

	return memcmp(a, &zero, sizeof(zero)) == 0;
}

/* HEAD_NEXT_HOP of the address, or -1: an extra. */
static int
next_hop_form(const struct ip_addr *a)
{
	struct ip_addr v4;

	if (a->afi == AFI_IPV6)
		return a->unused == 0 && a->zone == 0 ? HEAD_NEXT_HOP_V6 : -1;
	if (a->afi == AFI_NONE)
		return addr_is_zero(a) ? 0 : -1;
	v4 = (struct ip_addr){.afi = AFI_IPV4};
	memcpy(v4.b, a->b, 4);
	return memcmp(a, &v4, sizeof(v4)) == 0 ? HEAD_NEXT_HOP_V4 : -1;
}

/* True if each value is zero without its attr_bit, and no unknown bit is set. */
static bool
bits_agree(const struct attr_set *a)
{
	uint32_t has = a->has;

	return !(has & ~(uint32_t)KNOWN_BITS) && ((has & ATTR_HAS_MED) || a->med == 0) &&
	       ((has & ATTR_HAS_LOCAL_PREF) || a->local_pref == 0) &&
	       ((has & ATTR_HAS_ORIGINATOR_ID) || a->originator_id == 0) &&
	       ((has & ATTR_HAS_OTC) || a->otc == 0) &&
	       ((has & ATTR_HAS_AGGREGATOR) ||
		       (a->aggregator_asn == 0 && a->aggregator_addr == 0)) &&
	       a->origin <= HEAD_ORIGIN;
}

static size_t
pack_verbatim(const struct attr_set *a, struct attr_packed *out)
{
	*out = (struct attr_packed){.bits = HEAD_VERBATIM};
	memcpy(out->body, a, attr_set_size(a));
	return HEAD + attr_set_size(a);
}

/* The extras except EXTRA_PATH, as bits. */
static unsigned
extras_of(const struct attr_set *a, int next_hop)
{
	unsigned extras = next_hop < 0 ? 1u << EXTRA_NEXT_HOP : 0;

	if (a->next_hop_link_local.afi != AFI_NONE || !addr_is_zero(&a->next_hop_link_local))
		extras |= 1u << EXTRA_LINK_LOCAL;
	if (a->has & ATTR_HAS_AGGREGATOR)
		extras |= 1u << EXTRA_AGGREGATOR;
	if (a->has & ATTR_HAS_ORIGINATOR_ID)
		extras |= 1u << EXTRA_ORIGINATOR_ID;
	if (a->has & ATTR_HAS_OTC)
		extras |= 1u << EXTRA_OTC;
	if (a->unused != 0)
		extras |= 1u << EXTRA_UNUSED;
	if (a->community_count >= COUNTED)
		extras |= 1u << EXTRA_COMMUNITIES;
	if (a->ext_community_count > 0)
		extras |= 1u << EXTRA_EXT_COMMUNITIES;
	if (a->large_community_count > 0)
		extras |= 1u << EXTRA_LARGE_COMMUNITIES;
	if (a->cluster_count > 0)
		extras |= 1u << EXTRA_CLUSTER_LIST;
	if (a->unknown_len > 0)
		extras |= 1u << EXTRA_UNKNOWN;
	if (a->has & ATTR_LLGR_STALE)
		extras |= 1u << EXTRA_LLGR_STALE;
	return extras;
}

static uint8_t *
extras_put(const struct attr_set *a, unsigned extras, uint8_t *w)
{
	const uint16_t counts[] = {a->as_path_len, a->community_count, a->ext_community_count,
		a->large_community_count, a->cluster_count, a->unknown_len};

	w = store_u16(w, (uint16_t)extras);
	if (extras & 1u << EXTRA_NEXT_HOP)
		w = (uint8_t *)memcpy(w, &a->next_hop, sizeof(a->next_hop)) + sizeof(a->next_hop);
	if (extras & 1u << EXTRA_LINK_LOCAL)
		w = (uint8_t *)memcpy(w, &a->next_hop_link_local, sizeof(a->next_hop)) +
		    sizeof(a->next_hop);
	if (extras & 1u << EXTRA_AGGREGATOR)
		w = store_u32(store_u32(w, a->aggregator_asn), a->aggregator_addr);
	if (extras & 1u << EXTRA_ORIGINATOR_ID)
		w = store_u32(w, a->originator_id);
	if (extras & 1u << EXTRA_OTC)
		w = store_u32(w, a->otc);
	if (extras & 1u << EXTRA_UNUSED)
		*w++ = a->unused;
	for (unsigned i = EXTRA_PATH; i <= EXTRA_UNKNOWN; i++)
		if (extras & 1u << i)
			w = store_u16(w, counts[i - EXTRA_PATH]);
	return w;
}

/* The path as segments is rare; its derived fields are made again by attr_unpack(). */
static bool
derived_agree(const struct attr_set *a)
{
	struct attr_set derived = *a;

	attr_derive_path(&derived, attr_as_path(a));
	return derived.as_path_hops == a->as_path_hops && derived.first_asn == a->first_asn &&
	       derived.origin_asn == a->origin_asn;
}

size_t
attr_pack_bound(const struct attr_set *a)
{
	/* the head and all extras take less than the fixed part of struct attr_set */
	return HEAD + attr_set_size(a);
}

static inline uint8_t *
preferences_put(const struct attr_set *a, uint8_t *w)
{
	if (a->has & ATTR_HAS_MED)
		w = store_u32(w, a->med);
	return a->has & ATTR_HAS_LOCAL_PREF ? store_u32(w, a->local_pref) : w;
}

/* HEAD_MED and HEAD_LOCAL_PREF of the set. */
static inline unsigned
preferences_bits(const struct attr_set *a)
{
	return (a->has & ATTR_HAS_MED ? HEAD_MED : 0u) |
	       (a->has & ATTR_HAS_LOCAL_PREF ? HEAD_LOCAL_PREF : 0u);
}

/* Writes all but the head. Returns the end; NULL: without EXTRA_PATH the path does not fit. */
static uint8_t *
body_put(const struct attr_set *a, unsigned extras, int next_hop, struct attr_packed *out)
{
	size_t rest = attr_set_var_len(a) - a->as_path_len;
	uint8_t *w = out->body;

	if (extras != 0)
		w = extras_put(a, extras, w);
	if (next_hop > 0) {
		size_t len = next_hop == HEAD_NEXT_HOP_V4 ? 4 : 16;

		memcpy(w, a->next_hop.b, len);
		w += len;
	}
	w = preferences_put(a, w);
	if (extras & 1u << EXTRA_PATH) {
		out->hops = out->units = 0;
		memcpy(w, attr_as_path(a), a->as_path_len);
		w += a->as_path_len;
	} else {
		w = path_put(a, out, w);
		if (w == NULL)
			return NULL;
	}
	memcpy(w, attr_communities(a), rest);
	return w + rest;
}

size_t
attr_pack(const struct attr_set *a, struct attr_packed *out)
{
	int next_hop = next_hop_form(&a->next_hop);
	unsigned extras = extras_of(a, next_hop);
	uint8_t *end;

	if (!bits_agree(a))
		return pack_verbatim(a, out);
	end = body_put(a, extras, next_hop, out);
	if (end == NULL) {
		if (!derived_agree(a))
			return pack_verbatim(a, out);
		extras |= 1u << EXTRA_PATH;
		end = body_put(a, extras, next_hop, out);
	}
	out->bits = (uint8_t)(a->origin | (next_hop > 0 ? (unsigned)next_hop : 0) |
			      preferences_bits(a) |
			      (a->has & ATTR_HAS_ATOMIC_AGGREGATE ? HEAD_ATOMIC_AGGREGATE : 0));
	out->more = (uint8_t)((a->community_count < COUNTED ? a->community_count : COUNTED) |
			      (extras != 0 ? MORE_EXTRAS : 0));
	return (size_t)(end - (uint8_t *)out);
}

/* ---- reading ---- */

/* Where the parts of a packed set are. */
struct parts {
	const uint8_t *extra[EXTRAS]; /* valid if the bit is set in `extras` */
	unsigned extras;
	const uint8_t *next_hop; /* behind the extras: then MED, LOCAL_PREF */
	const uint8_t *path, *rest;
	size_t path_len, rest_len; /* octets stored */
	uint16_t community_count;
};

static uint16_t
extra_u16(const struct parts *s, enum extra which)
{
	return s->extras & 1u << which ? load_u16(s->extra[which]) : 0;
}

static const uint8_t *
extras_find(const uint8_t *p, struct parts *out)
{
	out->extras = load_u16(p);
	p += 2;
	for (unsigned left = out->extras; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		out->extra[i] = p;
		p += extra_size[i];
	}
	return p;
}

/* NEXT_HOP, MED and LOCAL_PREF, as far as `bits` has them. */
static size_t
leading_len(uint8_t bits)
{
	static const uint8_t next_hop_len[4] = {0, 4, 16, 0};

	return next_hop_len[(bits & HEAD_NEXT_HOP) >> 2] + (bits & HEAD_MED ? 4u : 0u) +
	       (bits & HEAD_LOCAL_PREF ? 4u : 0u);
}

static inline void
parts_find(const struct attr_packed *p, struct parts *out)
{
	out->extras = 0;
	out->next_hop = p->more & MORE_EXTRAS ? extras_find(p->body, out) : p->body;
	out->path = out->next_hop + leading_len(p->bits);
	out->path_len = 2u * p->units;
	out->community_count = p->more & MORE_COMMUNITIES;
	out->rest_len = 0;
	if (out->extras != 0) {
		if (out->extras & 1u << EXTRA_PATH)
			out->path_len = load_u16(out->extra[EXTRA_PATH]);
		if (out->extras & 1u << EXTRA_COMMUNITIES)
			out->community_count = load_u16(out->extra[EXTRA_COMMUNITIES]);
		out->rest_len = 8u * extra_u16(out, EXTRA_EXT_COMMUNITIES) +
				12u * extra_u16(out, EXTRA_LARGE_COMMUNITIES) +
				4u * extra_u16(out, EXTRA_CLUSTER_LIST) +
				extra_u16(out, EXTRA_UNKNOWN);
	}
	out->rest = out->path + out->path_len;
	out->rest_len += 4u * out->community_count;
}

static const struct attr_set *
verbatim(const struct attr_packed *p)
{
	return (const struct attr_set *)(const void *)p->body;
}

size_t
attr_packed_size(const struct attr_packed *p)
{
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return HEAD + attr_set_size(verbatim(p));
	parts_find(p, &s);
	return (size_t)(s.rest - (const uint8_t *)p) + s.rest_len;
}

size_t
attr_pack_like(const struct attr_packed *like, const struct attr_set *a, struct attr_packed *out)
{
	const uint8_t *at = (const uint8_t *)like;
	uint8_t *w = (uint8_t *)out;
	size_t front, rest;
	struct parts s;

	if ((like->bits & HEAD_VERBATIM) || !bits_agree(a))
		return attr_pack(a, out);
	parts_find(like, &s);
	front = (size_t)(s.next_hop - at) +
		leading_len(like->bits & (uint8_t) ~(HEAD_MED | HEAD_LOCAL_PREF));
	rest = (size_t)(s.rest - s.path) + s.rest_len;
	memcpy(w, at, front);
	w += front;
	w = preferences_put(a, w);
	memcpy(w, s.path, rest);
	out->bits = (uint8_t)((like->bits & ~(HEAD_MED | HEAD_LOCAL_PREF)) | preferences_bits(a));
	return (size_t)(w + rest - (uint8_t *)out);
}

static bool
communities_have(const uint8_t *at, const uint8_t *end, const uint8_t *value)
{
	for (; at < end; at += 4)
		if (load_u32(at) == load_u32(value))
			return true;
	return false;
}

bool
attr_packed_is_appended(const struct attr_packed *p, const struct attr_packed *q,
	const uint8_t *values, unsigned count)
{
	const uint8_t *at, *end;
	struct parts a, b;
	size_t front, had;

	if (p->bits != q->bits || (p->bits & HEAD_VERBATIM) || p->hops != q->hops ||
		p->units != q->units || ((p->more ^ q->more) & MORE_EXTRAS))
		return false;
	parts_find(p, &a);
	parts_find(q, &b);
	had = 4u * a.community_count;
	front = (size_t)(a.rest - p->body) + had;
	/* equal extras: the parts behind the communities have equal lengths */
	if (b.community_count < a.community_count || (size_t)(b.rest - q->body) + had != front ||
		memcmp(p->body, q->body, front) != 0)
		return false;
	at = b.rest + had;
	end = b.rest + 4u * b.community_count;
	for (unsigned i = 0; i < count; i++) {
		if (communities_have(b.rest, at, values + 4u * i))
			continue;
		if (at == end || load_u32(at) != load_u32(values + 4u * i))
			return false;
		at += 4;
	}
	return at == end && memcmp(a.rest + had, end, a.rest_len - had) == 0;
}

/* Length of the path in struct attr_set. */
static size_t
wire_path_len(const struct attr_packed *p, const struct parts *s)
{
	if (s->extras & 1u << EXTRA_PATH)
		return s->path_len;
	return p->hops > 0 ? 2 + 4u * p->hops : 0;
}

size_t
attr_packed_set_size(const struct attr_packed *p)
{
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return attr_set_size(verbatim(p));
	parts_find(p, &s);
	return FIXED + wire_path_len(p, &s) + s.rest_len;
}

bool
attr_packed_valid(const struct attr_packed *p, size_t len)
{
	size_t size;

	if (len < HEAD)
		return false;
	if (p->bits & HEAD_VERBATIM) {
		if (len < HEAD + FIXED)
			return false;
	} else if (p->more & MORE_EXTRAS) {
		size_t extras = 2;

		if (len < HEAD + 2)
			return false;
		for (unsigned left = load_u16(p->body); left != 0; left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctz(left);

			extras += i < EXTRAS ? extra_size[i] : len;
		}
		if (len < HEAD + extras)
			return false;
	}
	if (p->hops > p->units || p->units > 3u * p->hops)
		return false;
	size = attr_packed_size(p);
	return size <= len && len - size < 8;
}

static void
next_hop_get(const struct attr_packed *p, const struct parts *s, struct ip_addr *out)
{
	if (s->extras & 1u << EXTRA_NEXT_HOP)
		memcpy(out, s->extra[EXTRA_NEXT_HOP], sizeof(*out));
	else if (p->bits & HEAD_NEXT_HOP_V4) {
		out->afi = AFI_IPV4;
		memcpy(out->b, s->next_hop, 4);
	} else if (p->bits & HEAD_NEXT_HOP_V6) {
		out->afi = AFI_IPV6;
		memcpy(out->b, s->next_hop, 16);
	}
}

static void
extras_get(const struct parts *s, struct attr_set *out)
{
	if (s->extras & 1u << EXTRA_LINK_LOCAL)
		memcpy(&out->next_hop_link_local, s->extra[EXTRA_LINK_LOCAL],
			sizeof(out->next_hop_link_local));
	if (s->extras & 1u << EXTRA_AGGREGATOR) {
		out->has |= ATTR_HAS_AGGREGATOR;
		out->aggregator_asn = load_u32(s->extra[EXTRA_AGGREGATOR]);
		out->aggregator_addr = load_u32(s->extra[EXTRA_AGGREGATOR] + 4);
	}
	if (s->extras & 1u << EXTRA_ORIGINATOR_ID) {
		out->has |= ATTR_HAS_ORIGINATOR_ID;
		out->originator_id = load_u32(s->extra[EXTRA_ORIGINATOR_ID]);
	}
	if (s->extras & 1u << EXTRA_OTC) {
		out->has |= ATTR_HAS_OTC;
		out->otc = load_u32(s->extra[EXTRA_OTC]);
	}
	if (s->extras & 1u << EXTRA_UNUSED)
		out->unused = *s->extra[EXTRA_UNUSED];
	if (s->extras & 1u << EXTRA_LLGR_STALE)
		out->has |= ATTR_LLGR_STALE;
	out->ext_community_count = extra_u16(s, EXTRA_EXT_COMMUNITIES);
	out->large_community_count = extra_u16(s, EXTRA_LARGE_COMMUNITIES);
	out->cluster_count = extra_u16(s, EXTRA_CLUSTER_LIST);
	out->unknown_len = extra_u16(s, EXTRA_UNKNOWN);
}

/* All of the fixed part but what attr_derive_path() computes. */
static void
fixed_get(const struct attr_packed *p, const struct parts *s, struct attr_set *out)
{
	const uint8_t *at = s->path;

	memset(out, 0, FIXED);
	out->origin = p->bits & HEAD_ORIGIN;
	if (p->bits & HEAD_ATOMIC_AGGREGATE)
		out->has = ATTR_HAS_ATOMIC_AGGREGATE;
	if (p->bits & HEAD_LOCAL_PREF) {
		out->has |= ATTR_HAS_LOCAL_PREF;
		at -= 4;
		out->local_pref = load_u32(at);
	}
	if (p->bits & HEAD_MED) {
		out->has |= ATTR_HAS_MED;
		at -= 4;
		out->med = load_u32(at);
	}
	next_hop_get(p, s, &out->next_hop);
	if (s->extras != 0)
		extras_get(s, out);
	out->community_count = s->community_count;
	out->as_path_len = (uint16_t)wire_path_len(p, s);
}

struct attr_set *
attr_unpack(const struct attr_packed *p, struct attr_set *out)
{
	const uint8_t *at;
	uint8_t *w = out->var;
	uint32_t asn = 0;
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return memcpy(out, p->body, attr_set_size(verbatim(p)));
	parts_find(p, &s);
	fixed_get(p, &s, out);
	if (p->hops > 0) {
		*w++ = AS_SEQUENCE;
		*w++ = p->hops;
		at = s.path;
		for (unsigned i = 1; i < p->hops; i++) {
			at = number_take(at, &asn);
			w = store_u32(w, __builtin_bswap32(asn));
		}
		(void)number_take_last(at, &asn);
		w = store_u32(w, __builtin_bswap32(asn));
		out->first_asn = __builtin_bswap32(load_u32(out->var + 2));
		out->origin_asn = asn;
		out->as_path_hops = p->hops;
	} else if (s.path_len > 0) {
		memcpy(w, s.path, s.path_len);
		w += s.path_len;
		attr_derive_path(out, out->var);
	}
	memcpy(w, s.rest, s.rest_len);
	return out;
}

struct attr_set *
attr_unpack_fixed(const struct attr_packed *p, struct attr_set *out)
{
	struct parts s;

	if (p->bits & HEAD_VERBATIM) {
		memcpy(out, p->body, FIXED);
		out->origin_asn = 0;
		return out;
	}
	parts_find(p, &s);
	fixed_get(p, &s, out);
	if (p->hops > 0) {
		(void)number_take_last(s.path, &out->first_asn);
		out->as_path_hops = p->hops;
	} else if (s.path_len > 0) {
		attr_derive_path(out, s.path);
	}
	out->origin_asn = 0;
	return out;
}

struct ip_addr
attr_packed_next_hop(const struct attr_packed *p)
{
	struct ip_addr next_hop = {0}, link_local;
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return *attr_next_hop(verbatim(p));
	parts_find(p, &s);
	next_hop_get(p, &s, &next_hop);
	if (!(s.extras & 1u << EXTRA_LINK_LOCAL))
		return next_hop;
	memcpy(&link_local, s.extra[EXTRA_LINK_LOCAL], sizeof(link_local));
	return *attr_next_hop_of(&next_hop, &link_local);
}

unsigned
attr_packed_as_path_count(const struct attr_packed *p, uint32_t asn)
{
	const uint8_t *at;
	uint32_t number;
	unsigned n = 0;
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return attr_as_path_count(verbatim(p), asn);
	parts_find(p, &s);
	if (p->hops == 0)
		return attr_path_count(s.path, s.path_len, asn);
	at = s.path;
	for (unsigned i = 1; i < p->hops; i++) {
		at = number_take(at, &number);
		n += number == asn;
	}
	(void)number_take_last(at, &number);
	return n + (number == asn);
}

bool
attr_packed_originator_is(const struct attr_packed *p, uint32_t originator_id)
{
	struct parts s;

	if (p->bits & HEAD_VERBATIM)
		return (verbatim(p)->has & ATTR_HAS_ORIGINATOR_ID) &&
		       verbatim(p)->originator_id == originator_id;
	if (!(p->more & MORE_EXTRAS))
		return false;
	parts_find(p, &s);
	return (s.extras & 1u << EXTRA_ORIGINATOR_ID) &&
	       load_u32(s.extra[EXTRA_ORIGINATOR_ID]) == originator_id;
}

/* `list`: `count` clusters in network order. */
static bool
clusters_contain(const uint8_t *list, unsigned count, uint32_t cluster_id)
{
	uint32_t wire = __builtin_bswap32(cluster_id);

	for (unsigned i = 0; i < count; i++)
		if (load_u32(list + (size_t)4 * i) == wire)
			return true;
	return false;
}

bool
attr_packed_cluster_contains(const struct attr_packed *p, uint32_t cluster_id)
{
	struct parts s;
	unsigned count;

	if (p->bits & HEAD_VERBATIM)
		return clusters_contain(
			attr_cluster_list(verbatim(p)), verbatim(p)->cluster_count, cluster_id);
	if (!(p->more & MORE_EXTRAS))
		return false;
	parts_find(p, &s);
	count = extra_u16(&s, EXTRA_CLUSTER_LIST);
	return clusters_contain(
		s.rest + s.rest_len - extra_u16(&s, EXTRA_UNKNOWN) - (size_t)4 * count, count,
		cluster_id);
}

const uint8_t *
attr_packed_ext_communities(const struct attr_packed *p, unsigned *count)
{
	struct parts s;

	*count = 0;
	if (p->bits & HEAD_VERBATIM) {
		*count = verbatim(p)->ext_community_count;
		return attr_ext_communities(verbatim(p));
	}
	if (!(p->more & MORE_EXTRAS))
		return NULL;
	parts_find(p, &s);
	*count = extra_u16(&s, EXTRA_EXT_COMMUNITIES);
	return s.rest + (size_t)4 * s.community_count;
}
