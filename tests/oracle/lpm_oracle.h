/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Oracle for longest-prefix match of IPv4: a hash table of prefixes, painted in order of length
 * into an array with a cell per /24, and 256 cells for each /24 with longer prefixes. Shares no
 * code with lpm/.
 *
 * An answer is value | length << 24, or 0 without a match. Values are 1 to 0xffffff. Changes take
 * effect with the next painting.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ORACLE_FINE (1u << 31)

struct oracle_route {
	uint32_t addr;
	uint32_t value; /* 0: removed */
	uint8_t len;
	uint8_t used;
};

struct lpm_oracle {
	struct oracle_route *route; /* open addressing; removed prefixes remain as markers */
	uint32_t mask, filled;
	uint32_t *cell; /* 2^24 answers, or ORACLE_FINE | block */
	uint32_t *fine;
	uint32_t fine_count, fine_room;
};

static inline uint32_t
oracle_last(uint32_t addr, unsigned len)
{
	return len == 0 ? UINT32_MAX : addr | (uint32_t)(UINT64_C(0xffffffff) >> len);
}

static inline void *
oracle_alloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (p == NULL)
		abort();
	return p;
}

static inline void
oracle_init(struct lpm_oracle *o, uint32_t room)
{
	uint32_t size = 1024;

	while (size < room * 2)
		size *= 2;
	*o = (struct lpm_oracle){.mask = size - 1};
	o->route = oracle_alloc(size, sizeof(*o->route));
	o->cell = oracle_alloc(1u << 24, sizeof(*o->cell));
}

static inline void
oracle_fini(struct lpm_oracle *o)
{
	free(o->route);
	free(o->cell);
	free(o->fine);
}

static inline struct oracle_route *
oracle_find(struct lpm_oracle *o, uint32_t addr, uint8_t len)
{
	uint64_t h = ((uint64_t)addr << 8 | len) * UINT64_C(0x9e3779b97f4a7c15);

	for (uint32_t i = (uint32_t)(h >> 32) & o->mask;; i = (i + 1) & o->mask) {
		struct oracle_route *r = &o->route[i];

		if (!r->used || (r->addr == addr && r->len == len))
			return r;
	}
}

/* Sets a prefix; `value` 0 removes the prefix. */
static inline void
oracle_set(struct lpm_oracle *o, uint32_t addr, uint8_t len, uint32_t value)
{
	struct oracle_route *r = oracle_find(o, addr, len);

	if (!r->used && value == 0)
		return;
	if (!r->used && ++o->filled > o->mask / 4 * 3)
		abort(); /* the test reserved too little room */
	*r = (struct oracle_route){.addr = addr, .len = len, .value = value, .used = 1};
}

static inline uint32_t
oracle_get(struct lpm_oracle *o, uint32_t addr, uint8_t len)
{
	return oracle_find(o, addr, len)->value;
}

static inline void
oracle_paint_fine(struct lpm_oracle *o, const struct oracle_route *r, uint32_t answer)
{
	uint32_t *cell = &o->cell[r->addr >> 8];

	if ((*cell & ORACLE_FINE) == 0) {
		if (o->fine_count == o->fine_room) {
			o->fine_room = o->fine_room ? o->fine_room * 2 : 1024;
			o->fine = realloc(o->fine, (size_t)o->fine_room * 256 * sizeof(*o->fine));
			if (o->fine == NULL)
				abort();
		}
		for (unsigned i = 0; i < 256; i++)
			o->fine[(size_t)o->fine_count * 256 + i] = *cell;
		*cell = ORACLE_FINE | o->fine_count++;
	}
	for (uint32_t a = r->addr; a <= oracle_last(r->addr, r->len); a++) {
		o->fine[(size_t)(*cell & ~ORACLE_FINE) * 256 + (a & 0xff)] = answer;
		if (a == UINT32_MAX)
			break;
	}
}

/*
 * Paints shorter prefixes first, so longer prefixes overwrite them. Ignores prefixes longer than
 * `max_len`.
 */
static inline void
oracle_paint_up_to(struct lpm_oracle *o, unsigned max_len)
{
	uint32_t start[34] = {0}, *order = oracle_alloc(o->filled + 1, sizeof(*order));

	for (uint32_t i = 0; i <= o->mask; i++)
		start[o->route[i].used ? o->route[i].len + 1 : 0]++;
	start[0] = 0;
	for (unsigned len = 1; len <= 33; len++)
		start[len] += start[len - 1];
	for (uint32_t i = 0; i <= o->mask; i++) {
		if (o->route[i].used)
			order[start[o->route[i].len]++] = i;
	}
	memset(o->cell, 0, sizeof(*o->cell) << 24);
	o->fine_count = 0;
	for (uint32_t i = 0; i < o->filled; i++) {
		const struct oracle_route *r = &o->route[order[i]];
		uint32_t answer = r->value | (uint32_t)r->len << 24;

		if (r->value == 0 || r->len > max_len)
			continue;
		if (r->len > 24) {
			oracle_paint_fine(o, r, answer);
			continue;
		}
		for (uint32_t c = r->addr >> 8; c <= oracle_last(r->addr, r->len) >> 8; c++)
			o->cell[c] = answer;
	}
	free(order);
}

static inline void
oracle_paint(struct lpm_oracle *o)
{
	oracle_paint_up_to(o, 32);
}

static inline uint32_t
oracle_lookup(const struct lpm_oracle *o, uint32_t addr)
{
	uint32_t cell = o->cell[addr >> 8];

	return cell & ORACLE_FINE ? o->fine[(size_t)(cell & ~ORACLE_FINE) * 256 + (addr & 0xff)]
				  : cell;
}
