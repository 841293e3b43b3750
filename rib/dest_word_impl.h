/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encoding of the word of a destination: the published paths. For dest.c alone, which says which
 * threads read and write the word.
 *
 * The low bits select the kind. INLINE: the word is a single path, with the time next to the word.
 * PACKED: the address of a struct packed_set and its number of paths; with CHANGED also the
 * received attribute sets. LINK: no paths; the word holds list links of the owner (list of
 * tombstones by age, or of free ids), and readers look at LINK alone. No bit: the address of a
 * struct path_set.
 */
#pragma once

#include "rib/dest.h"

#define LINK 1u
#define INLINE 2u
#define PACKED 4u
#define CHANGED 8u /* with PACKED */
/*
 * Blocks are aligned to 16 bytes. Above the address of a PACKED set, the word holds how many paths
 * the set has, are eligible and forward together.
 */
#define BLOCK_MASK 0x0000fffffffffff0ull
#define COUNT_AT 48u
#define ELIGIBLE_AT 52u
#define MULTIPATH_AT 56u
static_assert(PATHS_PACKED_MAX < 16, "four bits each");

/*
 * A common path: no path id and no label (everything except VPN and RFC 7911). A set of up to
 * PATHS_PACKED_MAX common paths takes 12 bytes a path; dest_peek() expands to struct rib_path. The
 * received attribute set is the accepted set or, of a refused path, the only set. Where policy
 * changed a kept route, 4 bytes more for each path of the set hold the received set.
 */
struct packed_path {
	uint16_t peer;
	_Atomic uint16_t epoch;
	uint32_t set_flags; /* set << 8 | enum packed_flag */
	uint32_t time_s;
};
static_assert(sizeof(struct packed_path) == 12, "budget of docs/architecture.md");

/*
 * Shared by destinations with equal paths: dest_publish_ref() publishes one set for the prefixes of
 * an UPDATE. The owner counts references.
 */
struct packed_set {
	uint32_t refs;
	struct packed_path path[]; /* CHANGED: followed by uint32_t received[count] */
};

enum packed_flag {
	PACKED_UP = 1u << 0,
	PACKED_REJECTED = 1u << 1, /* the set is `received` alone */
	PACKED_KEPT = 1u << 2, /* the set is both `accepted` and `received` */
	PACKED_SOURCE_SHIFT = 3, /* four bits */
};
#define PACKED_FLAG_BITS 7u

/* Layout of an INLINE word: flags, peer, set, epoch. */
#define INLINE_FLAGS_AT 3u
#define INLINE_PEER_AT (INLINE_FLAGS_AT + PACKED_FLAG_BITS)
#define INLINE_PEER_BITS 12u
#define INLINE_SET_AT (INLINE_PEER_AT + INLINE_PEER_BITS)
#define SET_BITS 24u
#define INLINE_EPOCH_AT (INLINE_SET_AT + SET_BITS)
#define INLINE_EPOCH_MASK (0xffffull << INLINE_EPOCH_AT)
static_assert(PEER_MAX <= 1u << INLINE_PEER_BITS && INLINE_EPOCH_AT + 16 <= 64, "a path in a word");

static inline void *
word_block(uint64_t word)
{
	return (void *)(uintptr_t)(word & BLOCK_MASK);
}

/*
 * Set and flags of a common path, in the format of struct packed_path; 0 if the path is uncommon.
 * Sets *changed if policy changed a kept route.
 */
static inline uint32_t
path_pack(const struct rib_path *p, bool *changed)
{
	const uint32_t all = PATH_NEXT_HOP_UP | PATH_REJECTED | 0xfu << PATH_SOURCE_SHIFT;
	bool rejected = p->label_flags & PATH_REJECTED;
	uint32_t set = rejected ? p->received.v : p->accepted.v;
	uint32_t flags = (p->label_flags >> PATH_SOURCE_SHIFT & 0xfu) << PACKED_SOURCE_SHIFT;

	if (p->path_id != 0 || p->label_flags >> 12 != 0xfffffu ||
		(p->label_flags & 0xfffu & ~all) != 0 || set == 0 || set >> SET_BITS != 0)
		return 0;
	if (rejected && p->accepted.v != 0)
		return 0;
	if (rejected)
		flags |= PACKED_REJECTED;
	else if (p->received.v == set)
		flags |= PACKED_KEPT;
	else if (p->received.v != 0)
		*changed = true;
	if (p->label_flags & PATH_NEXT_HOP_UP)
		flags |= PACKED_UP;
	return set << 8 | flags;
}

static inline void
path_unpack(struct rib_path *p, uint16_t peer, uint16_t epoch, uint32_t set_flags, uint32_t time_s)
{
	uint32_t set = set_flags >> 8;
	bool rejected = set_flags & PACKED_REJECTED;

	p->peer.v = peer;
	atomic_init(&p->epoch, epoch);
	p->accepted.v = rejected ? 0 : set;
	p->received.v = set_flags & (PACKED_REJECTED | PACKED_KEPT) ? set : 0;
	p->path_id = 0;
	p->label_flags =
		0xfffffu << 12 | (set_flags >> PACKED_SOURCE_SHIFT & 0xfu) << PATH_SOURCE_SHIFT |
		(rejected ? PATH_REJECTED : 0u) | (set_flags & PACKED_UP ? PATH_NEXT_HOP_UP : 0u);
	p->time_s = time_s;
}

static inline void
view_inline(uint64_t word, uint32_t time_s, union dest_paths *out)
{
	uint32_t set = (uint32_t)(word >> INLINE_SET_AT) & ((1u << SET_BITS) - 1);
	uint32_t flags = (uint32_t)(word >> INLINE_FLAGS_AT) & ((1u << PACKED_FLAG_BITS) - 1);
	uint16_t up = (flags & PACKED_UP) != 0;

	out->set = (struct path_set){.count = 1, .eligible = up, .multipath = up};
	path_unpack(&out->room.path[0],
		(uint16_t)(word >> INLINE_PEER_AT & ((1u << INLINE_PEER_BITS) - 1)),
		(uint16_t)(word >> INLINE_EPOCH_AT), set << 8 | flags, time_s);
}

static inline unsigned
packed_count(uint64_t word)
{
	return word >> COUNT_AT & 0xf;
}

static inline unsigned
at_most(unsigned n, unsigned most)
{
	return n < most ? n : most;
}

/* Received sets of the paths; NULL if the flags of the paths give the received sets. */
static inline uint32_t *
packed_received(struct packed_set *set, uint64_t word)
{
	return word & CHANGED ? (uint32_t *)(void *)&set->path[packed_count(word)] : NULL;
}

/* Expands the first `most` paths. */
static inline void
view_packed(uint64_t word, unsigned most, union dest_paths *out)
{
	const struct packed_path *p = ((const struct packed_set *)word_block(word))->path;
	const uint32_t *received = packed_received(word_block(word), word);
	unsigned count = at_most(packed_count(word), most);

	out->set = (struct path_set){.count = (uint16_t)count,
		.eligible = (uint16_t)at_most(word >> ELIGIBLE_AT & 0xf, most),
		.multipath = (uint16_t)at_most(word >> MULTIPATH_AT & 0xf, most)};
	for (unsigned i = 0; i < count; i++)
		path_unpack(&out->room.path[i], p[i].peer,
			atomic_load_explicit(&p[i].epoch, memory_order_relaxed), p[i].set_flags,
			p[i].time_s);
	for (unsigned i = 0; received != NULL && i < count; i++)
		out->room.path[i].received.v = received[i];
}

static inline size_t
set_size(unsigned count)
{
	return sizeof(struct path_set) + count * sizeof(struct rib_path);
}

static inline size_t
packed_size(unsigned count, bool changed)
{
	return sizeof(struct packed_set) +
	       count * (sizeof(struct packed_path) + (changed ? sizeof(uint32_t) : 0));
}

static inline unsigned
word_count(uint64_t word)
{
	if (word & INLINE)
		return 1;
	if (word & PACKED)
		return packed_count(word);
	return ((const struct path_set *)word_block(word))->count;
}

/* Bytes of the set outside the destination. */
static inline size_t
word_size(uint64_t word)
{
	if (word & INLINE)
		return 0;
	return word & PACKED ? packed_size(packed_count(word), word & CHANGED)
			     : set_size(word_count(word));
}

/* The INLINE word of a set of one path; 0 if the path does not fit. */
static inline uint64_t
set_inline(const struct path_set *s)
{
	const struct rib_path *p = &s->path[0];
	bool changed = false;
	uint32_t set_flags = path_pack(p, &changed);
	unsigned up = set_flags & PACKED_UP;

	if (set_flags == 0 || changed || s->eligible != up || s->multipath != up)
		return 0;
	return INLINE | (uint64_t)(set_flags & 0xffu) << INLINE_FLAGS_AT |
	       (uint64_t)p->peer.v << INLINE_PEER_AT | (uint64_t)(set_flags >> 8) << INLINE_SET_AT |
	       (uint64_t)atomic_load_explicit(&p->epoch, memory_order_relaxed) << INLINE_EPOCH_AT;
}

/*
 * Attribute set of the first path, for prefetching: the accepted set or, of a rejected path, the
 * received set; 0 without a path.
 */
static inline struct attr_id
word_first_set(uint64_t word)
{
	uint32_t set = 0;

	if ((word & LINK) || word == 0) /* a word of 0: the id was never assigned */
		set = 0;
	else if (word & INLINE)
		set = (uint32_t)(word >> INLINE_SET_AT) & ((1u << SET_BITS) - 1);
	else if (word & PACKED)
		set = ((const struct packed_set *)word_block(word))->path[0].set_flags >> 8;
	else
		set = ((const struct path_set *)word_block(word))->path[0].accepted.v;
	return (struct attr_id){set};
}
