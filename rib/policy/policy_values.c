/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of communities, with exact values and patterns, and sets of AS numbers. */
#include "rib/policy/policy_impl.h"

#include "rib/policy/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The octets of a community as numbers, in the same order. */
struct community_key {
	uint64_t high;
	uint32_t low; /* the last four octets of a large community, otherwise 0 */
};

struct community_entry {
	struct community_key key;
	uint32_t order;
	bool permit;
};

struct policy_community_list {
	uint32_t refs;
	enum policy_communities kind;
	unsigned count, size;
	struct community_entry *entries; /* sorted by key, without duplicates */
	/* entries with wildcards or ranges; `order` counts both kinds of entries */
	unsigned pattern_count, pattern_size;
	struct pattern_entry *patterns;
	bool uses_peer;
};

struct pattern_entry {
	struct community_pattern pattern;
	uint32_t order;
	bool permit;
};

void *
policy_vector_reserve(void *v, unsigned count, unsigned *size, size_t element)
{
	if (count < *size)
		return v;
	unsigned more = *size ? *size * 2 : 4;
	void *grown = realloc(v, more * element);
	if (grown)
		*size = more;
	return grown;
}

static uint32_t
load_u16(const uint8_t *b)
{
	return (uint32_t)b[0] << 8 | b[1];
}

static uint32_t
load_u32(const uint8_t *b)
{
	return load_u16(b) << 16 | load_u16(b + 2);
}

static inline struct community_key
community_key(enum policy_communities kind, const uint8_t *value)
{
	uint64_t high = load_u32(value);

	if (kind == COMMUNITIES_STANDARD)
		return (struct community_key){high, 0};
	high = high << 32 | load_u32(value + 4);
	return (struct community_key){high, kind == COMMUNITIES_LARGE ? load_u32(value + 8) : 0};
}

static inline int
key_compare(const struct community_key *a, const struct community_key *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

int
policy_community_list_create_kind(enum policy_communities kind, struct policy_community_list **out)
{
	struct policy_community_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->refs = 1;
	l->kind = kind;
	*out = l;
	return 0;
}

int
policy_community_list_create(struct policy_community_list **out)
{
	return policy_community_list_create_kind(COMMUNITIES_STANDARD, out);
}

int
policy_community_list_add_value(struct policy_community_list *l, bool permit, const uint8_t *value)
{
	struct community_entry *grown =
		policy_vector_reserve(l->entries, l->count, &l->size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->entries = grown;
	grown[l->count] = (struct community_entry){
		community_key(l->kind, value), l->count + l->pattern_count, permit};
	l->count++;
	return 0;
}

int
policy_community_list_add(struct policy_community_list *l, bool permit, uint32_t community)
{
	uint8_t value[] = {(uint8_t)(community >> 24), (uint8_t)(community >> 16),
		(uint8_t)(community >> 8), (uint8_t)community};

	return policy_community_list_add_value(l, permit, value);
}

int
policy_community_list_add_pattern(
	struct policy_community_list *l, bool permit, const struct community_pattern *pattern)
{
	struct pattern_entry *grown = policy_vector_reserve(
		l->patterns, l->pattern_count, &l->pattern_size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->patterns = grown;
	grown[l->pattern_count] =
		(struct pattern_entry){*pattern, l->count + l->pattern_count, permit};
	l->pattern_count++;
	for (unsigned i = 0; i < COMMUNITY_PARTS; i++)
		l->uses_peer |= pattern->part[i].peer;
	return 0;
}

bool
policy_community_list_uses_peer(const struct policy_community_list *l)
{
	return l->uses_peer;
}

bool
policy_community_list_is_one(const struct policy_community_list *l, uint32_t *community)
{
	if (l->kind != COMMUNITIES_STANDARD || l->pattern_count != 0 || l->count != 1 ||
		!l->entries[0].permit)
		return false;
	*community = (uint32_t)l->entries[0].key.high;
	return true;
}

enum policy_communities
policy_community_list_kind(const struct policy_community_list *l)
{
	return l->kind;
}

static int
community_compare(const void *a, const void *b)
{
	const struct community_entry *x = a, *y = b;
	int c = key_compare(&x->key, &y->key);

	if (c != 0)
		return c;
	return x->order < y->order ? -1 : x->order > y->order;
}

int
policy_community_list_seal(struct policy_community_list *l)
{
	unsigned kept = 0;

	if (l->count)
		qsort(l->entries, l->count, sizeof(*l->entries), community_compare);
	for (unsigned i = 0; i < l->count; i++)
		if (!kept || key_compare(&l->entries[kept - 1].key, &l->entries[i].key) != 0)
			l->entries[kept++] = l->entries[i];
	l->count = kept;
	return 0;
}

void
policy_community_list_unref(struct policy_community_list *l)
{
	if (!l || --l->refs)
		return;
	free(l->entries);
	free(l->patterns);
	free(l);
}

struct policy_community_list *
policy_community_list_ref(struct policy_community_list *l)
{
	l->refs++;
	return l;
}

static inline const struct community_entry *
community_find(const struct policy_community_list *l, struct community_key key)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int c = key_compare(&l->entries[middle].key, &key);
		if (c == 0)
			return &l->entries[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- patterns ---- */

/*
 * The parts of a community: 2 of a standard one, 3 of a large one, and of an extended one with an
 * AS number or an address its subtype, administrator and number. False: no pattern matches.
 */
static bool
community_parts(enum policy_communities kind, const uint8_t *v, uint32_t part[COMMUNITY_PARTS])
{
	switch (kind) {
	case COMMUNITIES_STANDARD:
		part[0] = load_u16(v);
		part[1] = load_u16(v + 2);
		part[2] = 0;
		return true;
	case COMMUNITIES_LARGE:
		for (unsigned i = 0; i < COMMUNITY_PARTS; i++)
			part[i] = load_u32(v + 4 * (size_t)i);
		return true;
	case COMMUNITIES_EXTENDED:
		part[0] = v[1];
		if (v[0] == 0) { /* RFC 4360 3.1: AS number of 2 octets */
			part[1] = load_u16(v + 2);
			part[2] = load_u32(v + 4);
		} else { /* RFC 4360 3.2, RFC 5668: address, AS number of 4 octets */
			part[1] = load_u32(v + 2);
			part[2] = load_u16(v + 6);
		}
		return v[0] <= 2;
	case COMMUNITIES_KINDS:
		break;
	}
	return false;
}

static bool
parts_match(const struct community_pattern *p, const uint32_t part[COMMUNITY_PARTS], bool address,
	uint32_t peer_asn)
{
	for (unsigned i = 0; i < COMMUNITY_PARTS; i++) {
		const struct community_part *want = &p->part[i];

		if (want->peer ? part[i] != peer_asn : part[i] < want->low || part[i] > want->high)
			return false;
	}
	/* an address is not an AS number: only a wildcard matches it */
	return !address ||
	       (!p->part[1].peer && p->part[1].low == 0 && p->part[1].high == UINT32_MAX);
}

bool
policy_pattern_match(const struct community_pattern *p, enum policy_communities kind,
	const uint8_t *value, uint32_t peer_asn)
{
	uint32_t part[COMMUNITY_PARTS];

	return community_parts(kind, value, part) &&
	       parts_match(p, part, kind == COMMUNITIES_EXTENDED && value[0] == 1, peer_asn);
}

unsigned
policy_communities_of(
	const struct attr_set *a, enum policy_communities kind, const uint8_t **values)
{
	switch (kind) {
	case COMMUNITIES_STANDARD:
		*values = attr_communities(a);
		return a->community_count;
	case COMMUNITIES_LARGE:
		*values = attr_large_communities(a);
		return a->large_community_count;
	case COMMUNITIES_EXTENDED:
		*values = attr_ext_communities(a);
		return a->ext_community_count;
	case COMMUNITIES_KINDS:
		break;
	}
	*values = NULL;
	return 0;
}

/* The entry that decides about one value: *order is the lowest order so far. */
static void
patterns_decide(const struct policy_community_list *l, const uint8_t *value, uint32_t peer_asn,
	uint32_t *order, bool *permit)
{
	uint32_t part[COMMUNITY_PARTS];
	bool address = l->kind == COMMUNITIES_EXTENDED && value[0] == 1;

	if (!community_parts(l->kind, value, part))
		return;
	for (unsigned i = 0; i < l->pattern_count && l->patterns[i].order < *order; i++) {
		if (parts_match(&l->patterns[i].pattern, part, address, peer_asn)) {
			*order = l->patterns[i].order;
			*permit = l->patterns[i].permit;
		}
	}
}

bool
policy_community_list_match(
	const struct policy_community_list *l, const struct attr_set *a, uint32_t peer_asn)
{
	const uint8_t *values;
	unsigned count = policy_communities_of(a, l->kind, &values),
		 size = policy_community_size[l->kind];
	uint32_t order = UINT32_MAX;
	bool permit = false;

	for (unsigned i = 0; i < count; i++) {
		const uint8_t *value = values + (size_t)size * i;
		const struct community_entry *e = community_find(l, community_key(l->kind, value));

		if (e && e->order < order) {
			order = e->order;
			permit = e->permit;
		}
		if (l->pattern_count > 0)
			patterns_decide(l, value, peer_asn, &order, &permit);
	}
	return permit;
}

/* ---- sets of AS numbers ---- */

struct asn_range {
	uint32_t low, high;
};

struct policy_as_set {
	uint32_t refs;
	unsigned count, size;
	struct asn_range *ranges; /* sealed: sorted, without overlap */
};

int
policy_as_set_create(struct policy_as_set **out)
{
	struct policy_as_set *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	*out = s;
	return 0;
}

int
policy_as_set_add(struct policy_as_set *s, uint32_t low, uint32_t high)
{
	struct asn_range *grown =
		policy_vector_reserve(s->ranges, s->count, &s->size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s->ranges = grown;
	grown[s->count++] = (struct asn_range){low, high};
	return 0;
}

static int
asn_range_compare(const void *a, const void *b)
{
	const struct asn_range *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

int
policy_as_set_seal(struct policy_as_set *s)
{
	unsigned kept = 0;

	if (s->count)
		qsort(s->ranges, s->count, sizeof(*s->ranges), asn_range_compare);
	for (unsigned i = 0; i < s->count; i++) {
		struct asn_range *last = kept ? &s->ranges[kept - 1] : NULL;

		if (last == NULL || s->ranges[i].low > last->high)
			s->ranges[kept++] = s->ranges[i];
		else if (s->ranges[i].high > last->high)
			last->high = s->ranges[i].high;
	}
	s->count = kept;
	return 0;
}

void
policy_as_set_unref(struct policy_as_set *s)
{
	if (!s || --s->refs)
		return;
	free(s->ranges);
	free(s);
}

struct policy_as_set *
policy_as_set_ref(struct policy_as_set *s)
{
	s->refs++;
	return s;
}

/* The comparison selects an address, because a processor would often guess a branch wrong. */
bool
policy_as_set_has(const struct policy_as_set *s, uint32_t asn)
{
	const struct asn_range *at = s->ranges;

	if (s->count == 0)
		return false;
	for (unsigned left = s->count; left > 1;) {
		unsigned half = left / 2;

		at = at[half].low <= asn ? at + half : at;
		left -= half;
	}
	return at->low <= asn && asn <= at->high;
}

/* The path is well-formed: segments of type, count, and `count` numbers of 4 octets. */
bool
policy_as_set_has_any(const struct policy_as_set *s, const struct attr_set *a)
{
	const uint8_t *p = attr_as_path(a), *end = p + a->as_path_len;

	while (p + 2 <= end) {
		unsigned count = p[1];

		for (p += 2; count > 0; count--, p += 4)
			if (policy_as_set_has(s, load_u32(p)))
				return true;
	}
	return false;
}
