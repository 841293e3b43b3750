/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For fan and oracle: the table of a receiver as a count and a sum over all routes. The sum depends neither on the order of arrival, nor on the
 * order of attributes, nor on the order of communities, because daemons differ in these. NEXT_HOP is left out: a daemon may keep the next hop of
 * a neighbour on the same subnet or set its own (RFC 4271 5.1.3). Single thread.
 */
#pragma once

#include "tests/bench/tool.h"

#include <stdint.h>
#include <string.h>

enum {
	WIRE_ORIGIN = 1,
	WIRE_AS_PATH = 2,
	WIRE_NEXT_HOP = 3,
	WIRE_MED = 4,
	WIRE_COMMUNITIES = 8,
	WIRE_MP_REACH = 14,
	WIRE_MP_UNREACH = 15,
	WIRE_EXT_COMMUNITIES = 16,
	WIRE_LARGE_COMMUNITIES = 32,
	WIRE_EXTENDED_LENGTH = 0x10,
};

struct wire_field {
	const uint8_t *p;
	size_t len;
};

/* Path attributes of an UPDATE. Fields point into the message. */
struct wire_attributes {
	uint64_t sum; /* all attributes but AS_PATH, NEXT_HOP, MED and the MP fields */
	uint64_t med_sum; /* 0: no MED */
	struct wire_field path, reach, unreach;
	uint8_t origin;
};

static inline uint64_t
held_mix(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0xff51afd7ed558ccdull;
	return h ^ h >> 32;
}

static inline uint64_t
held_octets(uint64_t h, const uint8_t *p, size_t len)
{
	uint64_t w;

	h = held_mix(h << 32 | len, 0x9e3779b97f4a7c15ull);
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = held_mix(h, w);
	}
	w = 0;
	memcpy(&w, p, len);
	return held_mix(held_mix(h, w), 0);
}

static inline uint64_t
held_path(const uint8_t *path, size_t len)
{
	return held_octets(WIRE_AS_PATH, path, len);
}

/* Sum over the communities of one type, `each` octets long. */
static inline uint64_t
held_communities(uint8_t type, const uint8_t *p, size_t len, size_t each)
{
	uint64_t sum = 0;

	for (; len >= each; p += each, len -= each)
		sum += held_octets(type, p, each);
	return sum;
}

static inline void
wire_attribute(struct wire_attributes *a, uint8_t type, const uint8_t *p, size_t len)
{
	struct wire_field field = {p, len};

	switch (type) {
	case WIRE_AS_PATH:
		a->path = field;
		break;
	case WIRE_NEXT_HOP:
		break;
	case WIRE_MED:
		a->med_sum = held_octets(type, p, len);
		break;
	case WIRE_MP_REACH:
		a->reach = field;
		break;
	case WIRE_MP_UNREACH:
		a->unreach = field;
		break;
	case WIRE_COMMUNITIES:
		a->sum += held_communities(type, p, len, 4);
		break;
	case WIRE_EXT_COMMUNITIES:
		a->sum += held_communities(type, p, len, 8);
		break;
	case WIRE_LARGE_COMMUNITIES:
		a->sum += held_communities(type, p, len, 12);
		break;
	default:
		if (type == WIRE_ORIGIN && len == 1)
			a->origin = *p;
		a->sum += held_octets(type, p, len);
	}
}

/* RFC 4271 4.3. False: malformed. */
static inline bool
wire_attributes_read(const uint8_t *p, size_t size, struct wire_attributes *out)
{
	const uint8_t *end = p + size;

	memset(out, 0, sizeof(*out));
	while (p < end) {
		size_t head = p[0] & WIRE_EXTENDED_LENGTH ? 4 : 3, len;

		if ((size_t)(end - p) < head)
			return false;
		len = head == 4 ? (size_t)p[2] << 8 | p[3] : p[2];
		if ((size_t)(end - p) - head < len)
			return false;
		wire_attribute(out, p[1], p + head, len);
		p += head + len;
	}
	return true;
}

/* ---- the table ---- */

struct held_slot {
	uint64_t prefix, route; /* prefix 0: free; route 0: not announced */
};

struct held {
	struct held_slot *slot;
	size_t size, used; /* size: a power of two, at most half used */
	uint64_t count, sum; /* announced prefixes, and the sum of `route` */
};

/* `addr`: the octets of the address that `bits` covers. Never 0. */
static inline uint64_t
held_prefix(unsigned bits, const uint8_t *addr)
{
	uint64_t h = held_octets(bits, addr, (bits + 7) / 8);

	return h != 0 ? h : 1;
}

/* The share of a route in the sum. Never 0. */
static inline uint64_t
held_route(uint64_t prefix, uint64_t attributes)
{
	uint64_t h = held_mix(held_mix(prefix, attributes), 0);

	return h != 0 ? h : 1;
}

static inline struct held_slot *
held_find(struct held *h, uint64_t prefix)
{
	size_t at = prefix & (h->size - 1);

	while (h->slot[at].prefix != 0 && h->slot[at].prefix != prefix)
		at = (at + 1) & (h->size - 1);
	return &h->slot[at];
}

/* `size`: a power of two. */
static inline void
held_resize(struct held *h, size_t size)
{
	struct held old = *h;

	h->size = size;
	h->slot = calloc(h->size, sizeof(*h->slot));
	if (h->slot == NULL)
		die("table", ENOMEM);
	for (size_t i = 0; i < old.size; i++) {
		if (old.slot[i].prefix != 0)
			*held_find(h, old.slot[i].prefix) = old.slot[i];
	}
	free(old.slot);
}

/* `route` 0: withdrawn. */
static inline void
held_set(struct held *h, uint64_t prefix, uint64_t route)
{
	struct held_slot *s;

	if (2 * h->used >= h->size)
		held_resize(h, h->size > 0 ? 2 * h->size : 1024);
	s = held_find(h, prefix);
	if (s->prefix == 0) {
		s->prefix = prefix;
		h->used++;
	}
	h->count += (route != 0) - (s->route != 0);
	h->sum += route - s->route;
	s->route = route;
}
