/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/table.h"

#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/bgp/wire.h"
#include "tests/lpm/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers: splitmix64, so that every machine makes the same table ---- */

static uint32_t
below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(((splitmix64(state) >> 32) * n) >> 32);
}

/* Weights in thousandths; returns the index. */
static unsigned
choose(uint64_t *state, const uint16_t *weight, unsigned n)
{
	uint32_t total = 0, at;
	unsigned i;

	for (i = 0; i < n; i++)
		total += weight[i];
	at = below(state, total);
	for (i = 0; i + 1 < n && at >= weight[i]; i++)
		at -= weight[i];
	return i;
}

/* ---- growth ---- */

static int
entry_add(struct table *t, const struct prefix *p, uint32_t set)
{
	if (t->entry_count == t->entry_size) {
		uint32_t size = t->entry_size ? 2 * t->entry_size : 65536;
		struct table_entry *e = realloc(t->entry, size * sizeof(*e));

		if (e == NULL)
			return -ENOMEM;
		t->entry = e;
		t->entry_size = size;
	}
	t->entry[t->entry_count++] = (struct table_entry){*p, set};
	return 0;
}

static int
set_add(struct table *t, const struct attr_set *a)
{
	struct attr_set *copy;

	if (t->set_count == t->set_size) {
		uint32_t size = t->set_size ? 2 * t->set_size : 16384;
		struct attr_set **s = realloc(t->sets, size * sizeof(struct attr_set *));

		if (s == NULL)
			return -ENOMEM;
		t->sets = s;
		t->set_size = size;
	}
	copy = malloc(attr_set_size(a));
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, a, attr_set_size(a));
	t->sets[t->set_count++] = copy;
	return 0;
}

/* ---- attribute sets ---- */

static uint32_t
random_asn(uint64_t *state)
{
	/* a quarter are 4-octet numbers; no reserved or private numbers */
	return below(state, 4) == 0 ? 131072 + below(state, 270000) : 174 + below(state, 63000);
}

static uint8_t *
put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
	return p + 4;
}

/* One AS_SEQUENCE; one path in six has its origin or a transit prepended. */
static uint8_t *
random_path(uint64_t *state, const struct table_own *own, struct attr_set *a, uint8_t *p)
{
	static const uint16_t lengths[] = {
		20, 80, 353, 303, 135, 60, 23, 12, 8, 6}; /* 1 to 10 hops */
	static const uint32_t transits[] = {174, 1299, 2914, 3257, 3320, 3356, 3491, 5511, 6453,
		6461, 6762, 6830, 6939, 7018, 9002, 12956};
	unsigned hops = choose(state, lengths, sizeof(lengths) / sizeof(lengths[0])) + 1;
	unsigned prepend = below(state, 6) == 0 ? 1 + below(state, 3) : 0;
	uint32_t last = 0;
	uint8_t *count;

	if (own->hops > 0) {
		hops = own->hops;
		prepend = 0;
	}
	*p++ = 2; /* AS_SEQUENCE */
	count = p++;
	*count = (uint8_t)(hops + prepend);
	for (unsigned i = 0; i < hops; i++) {
		last = i == 0 || (i == 1 && hops > 2) ? transits[below(state, 16)]
						      : random_asn(state);
		if (i == 0 && own->first_asn != 0)
			last = own->first_asn;
		p = put_u32(p, last);
	}
	for (unsigned i = 0; i < prepend; i++)
		p = put_u32(p, last);
	a->as_path_len = (uint16_t)(2 + 4 * *count);
	return p;
}

static uint8_t *
random_communities(uint64_t *state, const struct table_own *own, struct attr_set *a, uint8_t *p)
{
	a->community_count =
		below(state, 100) < 88 ? (uint16_t)(1 + below(state, 4) + below(state, 5)) : 0;
	if (own->communities > 0)
		a->community_count = (uint16_t)own->communities;
	for (unsigned i = 0; i < a->community_count; i++)
		p = put_u32(p, (174 + below(state, 60000)) << 16 | below(state, 10000));
	if (below(state, 1000) < 14) {
		a->ext_community_count = 1;
		p = put_u32(p, 0x00020000 | (174 + below(state, 60000)));
		p = put_u32(p, below(state, 100000));
	}
	if (below(state, 1000) < 66) {
		a->large_community_count = (uint16_t)(1 + below(state, 3));
		for (unsigned i = 0; i < 3u * a->large_community_count; i++)
			p = put_u32(p, 174 + below(state, 400000));
	}
	return p;
}

static int
random_set(struct table *t, uint64_t *state, const struct table_own *own)
{
	uint8_t buf[sizeof(struct attr_set) + 1024] __attribute__((aligned(8)));
	struct attr_set *a = (struct attr_set *)(void *)buf;
	uint8_t *p = a->var;

	memset(a, 0, sizeof(*a));
	a->origin = below(state, 10) < 8 ? ORIGIN_IGP : ORIGIN_INCOMPLETE;
	p = random_path(state, own, a, p);
	random_communities(state, own, a, p);
	if (below(state, 100) < 30) {
		a->has |= ATTR_HAS_MED;
		a->med = below(state, 500);
	}
	if (below(state, 1000) < 53)
		a->has |= ATTR_HAS_ATOMIC_AGGREGATE;
	if (below(state, 1000) < 76) {
		a->has |= ATTR_HAS_AGGREGATOR;
		a->aggregator_asn = random_asn(state);
		a->aggregator_addr = 0x01000000 + below(state, 0xdd000000);
	}
	attr_set_derive(a);
	return set_add(t, a);
}

static const struct table_own as_generated;

/* ---- prefixes ---- */

/* A set of (address, length), by open addressing; 0 is free (0/0 is never drawn). */
struct seen {
	uint64_t *slot;
	uint64_t mask;
};

static bool
seen_add(struct seen *s, uint32_t addr, unsigned len)
{
	uint64_t key = (uint64_t)addr << 8 | len;

	for (uint64_t i = hash_mix(key) & s->mask;; i = (i + 1) & s->mask) {
		if (s->slot[i] == key)
			return false;
		if (s->slot[i] == 0) {
			s->slot[i] = key;
			return true;
		}
	}
}

/* Never originated: private, loopback, link-local, shared, documentation, benchmarking, multicast and above. */
static bool
reserved(uint32_t a, unsigned len)
{
	static const struct {
		uint32_t addr;
		uint8_t len;
	} nets[] = {{0, 8}, {10u << 24, 8}, {100u << 24 | 64 << 16, 10}, {127u << 24, 8},
		{169u << 24 | 254 << 16, 16}, {172u << 24 | 16 << 16, 12}, {192u << 24, 24},
		{192u << 24 | 2 << 8, 24}, {192u << 24 | 168 << 16, 16},
		{198u << 24 | 18 << 16, 15}, {198u << 24 | 51 << 16 | 100 << 8, 24},
		{203u << 24 | 113 << 8, 24}, {224u << 24, 3}};

	for (unsigned i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
		unsigned n = nets[i].len < len ? nets[i].len : len; /* overlap either way */

		if (((a ^ nets[i].addr) >> (32 - n)) == 0)
			return true;
	}
	return false;
}

/*
 * A unit is a run of neighbouring prefixes of one origin with equal attributes, mostly of one length, sometimes with their
 * aggregate.
 */
static int
generate_unit(struct table *t, uint32_t count, uint64_t *state, struct seen *seen)
{
	static const uint16_t per_length[] = {/* /8 */ 1, 1, 1, 1, 1, 1, 2, 3, /* /16 */ 12, 8, 13,
		24, 43, 49, 105, 108, /* /24 */ 635};
	static const uint16_t sizes[] = {
		300, 180, 120, 80, 60, 50, 40, 35, 30, 25, 20, 18, 15, 12, 10};
	unsigned len = 8 + choose(state, per_length, sizeof(per_length) / sizeof(per_length[0]));
	/* longer runs for longer prefixes: the mean comes to about six an attribute set */
	unsigned run =
		1 + choose(state, sizes, sizeof(sizes) / sizeof(sizes[0])) * (len >= 22 ? 2 : 1);
	uint32_t addr = (uint32_t)(splitmix64(state) >> 32) & (UINT32_MAX << (32 - len));
	uint32_t set = t->set_count;
	int err = 0;

	for (unsigned i = 0; i < run && t->entry_count < count && err == 0;
		i++, addr += 1u << (32 - len)) {
		struct prefix p;

		if (reserved(addr, len) || !seen_add(seen, addr, len))
			continue;
		if (t->set_count == set && (err = random_set(t, state, &as_generated)) != 0)
			break;
		p = prefix_from_v4(addr, (uint8_t)len);
		err = entry_add(t, &p, set);
	}
	return err;
}

/* The first 48 bits. */
static uint64_t
v6_bits(const struct prefix *p)
{
	uint64_t bits = 0;

	for (unsigned b = 0; b < 6; b++)
		bits = bits << 8 | p->b[b];
	return bits;
}

/* A unit of /32 and longer is a run of neighbours inside one /28 to /32 allocation; shorter units are single. */
static int
generate_unit_v6(struct table *t, uint32_t count, uint64_t *state, struct seen *seen)
{
	static const uint8_t lengths[] = {20, 24, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
		40, 41, 42, 43, 44, 45, 46, 47, 48};
	static const uint16_t per_length[] = {
		1, 2, 6, 38, 4, 3, 120, 12, 12, 8, 42, 6, 10, 6, 90, 6, 24, 8, 100, 8, 28, 20, 460};
	static const uint16_t sizes[] = {
		300, 180, 120, 80, 60, 50, 40, 35, 30, 25, 20, 18, 15, 12, 10};
	unsigned len = lengths[choose(state, per_length, sizeof(lengths))];
	unsigned run =
		1 + choose(state, sizes, sizeof(sizes) / sizeof(sizes[0])) * (len >= 40 ? 2 : 1);
	/* the first 48 bits, in 2000::/3 but 2001::/16 and 2002::/16, where documentation, Teredo and 6to4 live */
	uint64_t bits = (0x2400ull + below(state, 0x600)) << 32 | (splitmix64(state) >> 32);
	uint32_t set = t->set_count;
	int err = 0;

	/* every third prefix lies within an existing prefix: more specifics of an allocation */
	if (t->entry_count > 0 && below(state, 3) == 0) {
		const struct prefix *outer = &t->entry[below(state, t->entry_count)].prefix;

		if (outer->len < len)
			bits = v6_bits(outer) | (bits & (UINT64_MAX >> (16 + outer->len)));
	}
	bits = bits >> (48 - len) << (48 - len);
	for (unsigned i = 0; i < run && t->entry_count < count && err == 0;
		i++, bits += 1ull << (48 - len)) {
		struct ip_addr a = {.afi = AFI_IPV6};
		struct prefix p;

		/* the upper half of the key differs from IPv4: 32 bits for 48 bits and a length would collide, so the bits are mixed */
		if (!seen_add(seen, (uint32_t)hash_mix(bits), len))
			continue;
		if (t->set_count == set && (err = random_set(t, state, &as_generated)) != 0)
			break;
		for (unsigned b = 0; b < 6; b++)
			a.b[b] = (uint8_t)(bits >> (40 - 8 * b));
		p = prefix_from_addr(&a, (uint8_t)len);
		err = entry_add(t, &p, set);
	}
	return err;
}

int
table_generate(struct table *t, enum afi afi, uint32_t count, uint64_t seed)
{
	struct seen seen = {.mask = 1};
	uint64_t state = seed;
	int err = 0;

	memset(t, 0, sizeof(*t));
	while (seen.mask < 4ull * count)
		seen.mask <<= 1;
	seen.slot = calloc(seen.mask, sizeof(*seen.slot));
	seen.mask--;
	if (seen.slot == NULL)
		return -ENOMEM;
	while (t->entry_count < count && err == 0)
		err = (afi == AFI_IPV6 ? generate_unit_v6 : generate_unit)(t, count, &state, &seen);
	free(seen.slot);
	if (err != 0)
		table_free(t);
	return err;
}

static void
shuffle(struct table *t, uint64_t *state)
{
	for (uint32_t i = t->entry_count; i > 1; i--) {
		uint32_t k = below(state, i);
		struct table_entry e = t->entry[i - 1];

		t->entry[i - 1] = t->entry[k];
		t->entry[k] = e;
	}
}

int
table_own(struct table *t, const struct table_own *own)
{
	uint64_t state = own->seed, order = ~own->seed;

	if (own->shuffle)
		shuffle(t, &order);
	for (uint32_t i = 0; i < t->set_count; i++)
		free(t->sets[i]);
	t->set_count = 0;
	for (uint32_t i = 0; i < t->entry_count; i++) {
		if (i % own->per_set == 0) {
			int err = random_set(t, &state, own);

			if (err != 0)
				return err;
		}
		t->entry[i].set = t->set_count - 1;
	}
	return 0;
}

/* ---- MRT: RFC 6396 ---- */

#define MRT_TABLE_DUMP_V2 13
#define MRT_RIB_IPV4_UNICAST 2
#define MRT_RIB_IPV6_UNICAST 4
#define MRT_RECORD_MAX (4u << 20)

/*
 * Without the next hop: MP_REACH_NLRI, which a dump abbreviates (RFC 6396 4.3.4), and NEXT_HOP, which own
 * routes of a router need not have. Returns the length.
 */
static uint16_t
without_next_hop(const uint8_t *attrs, uint16_t len, uint8_t *out)
{
	struct rd r = rd_init(attrs, len);
	struct wr w = wr_init(out, len);

	while (rd_left(&r) > 0 && !r.bad) {
		const uint8_t *from = r.p;
		uint8_t flags = rd_u8(&r), type = rd_u8(&r);

		rd_bytes(&r, flags & 0x10 ? rd_u16(&r) : rd_u8(&r));
		if (!r.bad && type != 3 && type != 14)
			wr_bytes(&w, from, (size_t)(r.p - from));
	}
	return (uint16_t)wr_len(&w);
}

/* The attribute block of the dump as an UPDATE for the common decoder. */
static int
mrt_set(struct table *t, const uint8_t *block, uint16_t block_len, struct attr_set *scratch)
{
	static const uint8_t next_hop[] = {0x40, 3, 4, 192, 0, 2, 1};
	static uint8_t msg[BGP_HEADER_LEN + 4 + 65535 + 16], attrs[65535 + sizeof(next_hop)];
	uint16_t len = without_next_hop(block, block_len, attrs);
	/* RFC 6396 4.3.4: AS numbers in AS_PATH are always four octets */
	struct bgp_update_options o = {.as4 = true,
		.external = true,
		.families = 1u << FAMILY_IPV4_UNICAST,
		.extended_message = true};
	struct wr w = wr_init(msg, sizeof(msg));
	struct bgp_update u;

	/* well-known and mandatory beside the NLRI below */
	memcpy(attrs + len, next_hop, sizeof(next_hop));
	len = (uint16_t)(len + sizeof(next_hop));
	memset(wr_reserve(&w, 16), 0xff, 16);
	wr_u16(&w, (uint16_t)(BGP_HEADER_LEN + 4 + len + 2));
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, len);
	wr_bytes(&w, attrs, len);
	wr_bytes(&w, "\x08\x01",
		2); /* 1.0.0.0/8: one announced prefix, so that attributes are read */
	bgp_update_decode(msg, wr_len(&w), &o, scratch, &u);
	if (u.error.severity >= TREAT_AS_WITHDRAW || !u.has_attrs)
		return -EBADMSG;
	scratch->has &= ~(uint32_t)ATTR_HAS_LOCAL_PREF;
	scratch->local_pref = 0;
	memset(&scratch->next_hop, 0, sizeof(scratch->next_hop));
	return set_add(t, scratch);
}

struct mrt_reader {
	enum afi afi;
	struct attr_set *scratch;
	/* the attribute block of the last added set: neighbours in a dump often share a block */
	uint8_t last[65535];
	uint16_t last_len;
};

static int
mrt_rib_entry(struct table *t, struct rd *r, struct mrt_reader *m)
{
	struct nlri nlri;
	uint16_t count, len;
	const uint8_t *attrs;
	int err = 0;

	rd_u32(r); /* sequence */
	if (!nlri_read(r, m->afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST, false,
		    &nlri))
		return -EBADMSG;
	count = rd_u16(r);
	if (count == 0)
		return 0;
	rd_u16(r); /* peer index: the first entry counts */
	rd_u32(r); /* originated time */
	len = rd_u16(r);
	attrs = rd_bytes(r, len);
	if (attrs == NULL)
		return -EBADMSG;
	if (t->set_count == 0 || len != m->last_len || memcmp(attrs, m->last, len) != 0) {
		err = mrt_set(t, attrs, len, m->scratch);
		memcpy(m->last, attrs, len);
		m->last_len = len;
	}
	return err == 0 ? entry_add(t, &nlri.prefix, t->set_count - 1) : err;
}

static int
mrt_records(struct table *t, FILE *f, uint32_t limit, struct mrt_reader *m)
{
	uint8_t header[12], *body = malloc(MRT_RECORD_MAX);
	int err = body == NULL ? -ENOMEM : 0;

	while (err == 0 && (limit == 0 || t->entry_count < limit) &&
		fread(header, sizeof(header), 1, f) == 1) {
		struct rd h = rd_init(header + 4, 8), r;
		uint16_t type = rd_u16(&h), subtype = rd_u16(&h);
		uint32_t len = rd_u32(&h);

		if (len > MRT_RECORD_MAX || fread(body, 1, len, f) != len) {
			err = -EBADMSG;
			break;
		}
		if (type != MRT_TABLE_DUMP_V2 ||
			subtype !=
				(m->afi == AFI_IPV6 ? MRT_RIB_IPV6_UNICAST : MRT_RIB_IPV4_UNICAST))
			continue;
		r = rd_init(body, len);
		err = mrt_rib_entry(t, &r, m);
	}
	free(body);
	return err;
}

FILE *
table_open(const char *path, bool *piped)
{
	size_t len = strlen(path);
	char command[4200];

	*piped = len > 3 && strcmp(path + len - 3, ".gz") == 0;
	if (!*piped)
		return fopen(path, "rb");
	if (strchr(path, '\'') != NULL || len > 4096) {
		errno = EINVAL;
		return NULL;
	}
	snprintf(command, sizeof(command), "exec gzip -dc -- '%s'", path);
	return popen(command, "r");
}

int
table_read_mrt(struct table *t, enum afi afi, const char *path, uint32_t limit)
{
	struct mrt_reader *m = calloc(1, sizeof(*m));
	bool piped;
	FILE *f;
	int err;

	memset(t, 0, sizeof(*t));
	f = table_open(path, &piped);
	if (f == NULL || m == NULL) {
		err = f == NULL ? -errno : -ENOMEM;
		free(m);
		return err;
	}
	m->afi = afi;
	m->scratch = malloc(ATTR_SET_MAX);
	err = m->scratch != NULL ? mrt_records(t, f, limit, m) : -ENOMEM;
	if (piped)
		pclose(f);
	else
		fclose(f);
	free(m->scratch);
	free(m);
	if (err == 0 && t->entry_count == 0)
		err = -ENODATA;
	if (err != 0)
		table_free(t);
	return err;
}

void
table_free(struct table *t)
{
	for (uint32_t i = 0; i < t->set_count; i++)
		free(t->sets[i]);
	free(t->sets);
	free(t->entry);
	memset(t, 0, sizeof(*t));
}

int
table_list(const struct table *t, const char *path)
{
	FILE *f = fopen(path, "w");
	char text[PREFIX_TEXT_MAX];

	if (f == NULL)
		return -errno;
	for (uint32_t i = 0; i < t->entry_count; i++)
		fprintf(f, "%s %u\n", prefix_format(&t->entry[i].prefix, text),
			t->sets[t->entry[i].set]->origin_asn);
	return fclose(f) == 0 ? 0 : -errno;
}
