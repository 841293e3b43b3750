/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sticky bounded reader and writer of network-order octets. After an overrun each read gives 0 and `bad` stays
 * set: decoders read on and look once. Works on its arguments only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rd {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct rd
rd_init(const uint8_t *p, size_t len)
{
	return (struct rd){p, p + len, false};
}

static inline size_t
rd_left(const struct rd *r)
{
	return (size_t)(r->end - r->p);
}

/* The next `len` octets; NULL and bad on overrun. */
static inline const uint8_t *
rd_bytes(struct rd *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->bad || rd_left(r) < len) {
		r->bad = true;
		r->p = r->end;
		return NULL;
	}
	r->p += len;
	return p;
}

static inline uint8_t
rd_u8(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 1);
	return p ? *p : 0;
}

static inline uint16_t
rd_u16(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t
rd_u32(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 4);
	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint64_t
rd_u64(struct rd *r)
{
	uint64_t high = rd_u32(r);
	return high << 32 | rd_u32(r);
}

/* Consumes the next `len` octets and returns a reader for these octets; empty and bad on overrun. */
static inline struct rd
rd_sub(struct rd *r, size_t len)
{
	const uint8_t *p = rd_bytes(r, len);
	return p ? (struct rd){p, p + len, false} : (struct rd){r->end, r->end, true};
}

struct wr {
	uint8_t *p, *end, *start;
	bool bad;
};

static inline struct wr
wr_init(uint8_t *p, size_t size)
{
	return (struct wr){p, p + size, p, false};
}

static inline size_t
wr_len(const struct wr *w)
{
	return (size_t)(w->p - w->start);
}

/* Room for `len` octets; NULL and bad on overrun. */
static inline uint8_t *
wr_reserve(struct wr *w, size_t len)
{
	uint8_t *p = w->p;

	if (w->bad || p == NULL || (size_t)(w->end - p) < len) {
		w->bad = true;
		return NULL;
	}
	w->p += len;
	return p;
}

static inline void
wr_u8(struct wr *w, uint8_t v)
{
	uint8_t *p = wr_reserve(w, 1);
	if (p)
		*p = v;
}

static inline void
wr_u16(struct wr *w, uint16_t v)
{
	uint8_t *p = wr_reserve(w, 2);
	if (p) {
		p[0] = (uint8_t)(v >> 8);
		p[1] = (uint8_t)v;
	}
}

static inline void
wr_u32(struct wr *w, uint32_t v)
{
	wr_u16(w, (uint16_t)(v >> 16));
	wr_u16(w, (uint16_t)v);
}

static inline void
wr_u64(struct wr *w, uint64_t v)
{
	wr_u32(w, (uint32_t)(v >> 32));
	wr_u32(w, (uint32_t)v);
}

static inline void
wr_bytes(struct wr *w, const void *v, size_t len)
{
	uint8_t *p = wr_reserve(w, len);
	if (p && len > 0)
		memcpy(p, v, len);
}
