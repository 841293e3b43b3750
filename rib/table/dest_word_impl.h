/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encoding of the word of a destination: the published paths. For dest.c alone, which says which
 * threads read and write the word.
 *
 * The low bits select the kind. INLINE: the word is a single path, with the time next to the word.
 * PACKED: the address of a struct packed_set and its number of paths; with CHANGED also the
 * received attribute sets, with LABELLED also the labels. CHANGED alone (WIDE): the address of a struct wide_set and the number of
 * entries behind the front. LINK: no paths; the word holds list links of the owner (list of
 * tombstones by age, or of free ids), and readers look at LINK alone. No bit: the address of a
 * struct path_set.
 */
#pragma once

#include "rib/table/dest.h"

#define LINK 1u
#define INLINE 2u
#define PACKED 4u
#define CHANGED 8u /* with PACKED */
#define WIDE CHANGED /* without PACKED */
#define KIND_BITS 15u
/*
 * Blocks are aligned to 16 bytes. Above the address of a PACKED set, the word holds how many paths
 * the set has, are eligible and forward together.
 */
#define BLOCK_MASK 0x0000fffffffffff0ull
#define COUNT_AT 48u
#define ELIGIBLE_AT 52u
#define MULTIPATH_AT 56u
#define LABELLED (1ull << 60) /* with PACKED; in other words the bit means something else */
static_assert(PATHS_PACKED_MAX < 16, "four bits each");

#define PATH_LABEL_NONE 0xfffffu

/*
 * A common path: no path id (everything except RFC 7911). A set of up to PATHS_PACKED_MAX common
 * paths takes 12 bytes a path; dest_peek() expands to struct rib_path. The received attribute set
 * is the accepted set or, of a refused path, the only set. Where policy changed a kept route, 4
 * bytes more for each path of the set hold the received set. Where a path has a label, 4 bytes more
 * for each path of the set hold the labels; a single path is then no INLINE word, and more than
 * PATHS_PACKED_MAX paths are no wide set.
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
	/* CHANGED: followed by uint32_t received[count]; then LABELLED: by uint32_t label[count] */
	struct packed_path path[];
};

enum packed_flag {
	PACKED_UP = 1u << 0,
	PACKED_REJECTED = 1u << 1, /* the set is `received` alone */
	PACKED_KEPT = 1u << 2, /* the set is both `accepted` and `received` */
	PACKED_SOURCE_SHIFT = 3, /* four bits */
	PACKED_MED = 1u << 7,
};
#define PACKED_FLAG_BITS 8u

/*
 * A set of more than PATHS_PACKED_MAX common paths: the first paths by rank, in order, and the tail
 * with the rest in any order. An announcement that loses is appended to the tail in place, and
 * published by the number of entries in the word. So the cost of a path does not depend on the
 * number of paths.
 *
 * Readers see `front` immutable, except for epochs. A new front is a new wide_set, mostly with the
 * same tail. A tail entry keeps its peer. The owner may replace the entry's path in place; a body
 * of 0 is no path. A new path of the peer fills the entry again.
 */
/* One store replaces a path: set_flags << 32 | time_s. */
typedef _Atomic uint64_t tail_body;

struct path_tail {
	uint16_t size; /* entries that fit */
	bool changed; /* with received[] */
	uint8_t unused[5];
	tail_body body
		[]; /* size; followed by struct dest_tail_peer[size] and uint32_t received[size] */
};
static_assert(sizeof(struct path_tail) == 8, "12 bytes a path from here");

struct wide_set {
	struct path_tail *tail;
	/* the owner's: a bit for peer % 64 of each tail entry */
	uint64_t peers;
	uint32_t key; /* the owner's: dest_tail.front_key */
	uint16_t holes; /* the owner's: tail entries without a path */
	bool changed; /* with received[] */
	bool med; /* the owner's: a tail entry may have PACKED_MED */
	uint8_t count, eligible, multipath;
	uint8_t unused;
	uint16_t tail_size; /* the owner's: tail->size, without a look at the tail */
	uint8_t unused2[2];
	/* CHANGED sets: followed by uint32_t received[PATHS_PACKED_MAX] */
	struct packed_path path[PATHS_PACKED_MAX];
};
static_assert(
	sizeof(struct wide_set) == 128, "two cache lines, beside 12 bytes for a further path");
#define TAIL_MAX 0xffffu

static inline bool
packed_eligible(uint32_t set_flags)
{
	return (set_flags & (PACKED_UP | PACKED_REJECTED)) == PACKED_UP;
}

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
	const uint32_t all =
		PATH_NEXT_HOP_UP | PATH_REJECTED | PATH_MED | 0xfu << PATH_SOURCE_SHIFT;
	bool rejected = p->label_flags & PATH_REJECTED;
	uint32_t set = rejected ? p->received.v : p->accepted.v;
	uint32_t flags = (p->label_flags >> PATH_SOURCE_SHIFT & 0xfu) << PACKED_SOURCE_SHIFT;

	if (p->path_id != 0 || (p->label_flags & 0xfffu & ~all) != 0 || set == 0 ||
		set >> SET_BITS != 0)
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
	if (p->label_flags & PATH_MED)
		flags |= PACKED_MED;
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
	p->label_flags = PATH_LABEL_NONE << 12 |
			 (set_flags >> PACKED_SOURCE_SHIFT & 0xfu) << PATH_SOURCE_SHIFT |
			 (rejected ? PATH_REJECTED : 0u) |
			 (set_flags & PACKED_UP ? PATH_NEXT_HOP_UP : 0u) |
			 (set_flags & PACKED_MED ? PATH_MED : 0u);
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

/* Labels of the paths; NULL if no path has a label. */
static inline uint32_t *
packed_labels(struct packed_set *set, uint64_t word)
{
	uint32_t *behind = (uint32_t *)(void *)&set->path[packed_count(word)];

	if ((word & LABELLED) == 0)
		return NULL;
	return behind + (word & CHANGED ? packed_count(word) : 0);
}

static inline uint32_t
path_label(const struct rib_path *p)
{
	return p->label_flags >> 12;
}

/* Expands the first `most` paths. */
static inline void
view_packed(uint64_t word, unsigned most, union dest_paths *out)
{
	const struct packed_path *p = ((const struct packed_set *)word_block(word))->path;
	const uint32_t *received = packed_received(word_block(word), word);
	const uint32_t *label = packed_labels(word_block(word), word);
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
	for (unsigned i = 0; label != NULL && i < count; i++)
		out->room.path[i].label_flags =
			label[i] << 12 | (out->room.path[i].label_flags & 0xfffu);
}

/* ---- wide sets ---- */

static inline bool
word_is_wide(uint64_t word)
{
	return (word & (LINK | INLINE | PACKED | CHANGED)) == WIDE;
}

static inline struct wide_set *
word_wide(uint64_t word)
{
	return word_block(word);
}

/* Entries of the tail, with holes. */
static inline unsigned
wide_entries(uint64_t word)
{
	return (unsigned)(word >> COUNT_AT);
}

static inline struct dest_tail_peer *
tail_peers_of(struct path_tail *t, unsigned size)
{
	return (struct dest_tail_peer *)((uintptr_t)t->body + size * sizeof(tail_body));
}

static inline struct dest_tail_peer *
tail_peers(struct path_tail *t)
{
	return tail_peers_of(t, t->size);
}

static inline uint32_t *
tail_received(struct path_tail *t)
{
	return t->changed ? (uint32_t *)(void *)&tail_peers(t)[t->size] : NULL;
}

static inline size_t
tail_bytes(unsigned size, bool changed)
{
	return sizeof(struct path_tail) +
	       size * (sizeof(tail_body) + sizeof(struct dest_tail_peer) +
			      (changed ? sizeof(uint32_t) : 0));
}

static inline size_t
wide_bytes(bool changed)
{
	return sizeof(struct wide_set) + (changed ? PATHS_PACKED_MAX * sizeof(uint32_t) : 0);
}

static inline uint32_t *
wide_received(struct wide_set *w)
{
	return w->changed ? (uint32_t *)(void *)&w->path[PATHS_PACKED_MAX] : NULL;
}

static inline uint64_t
body_of(uint32_t set_flags, uint32_t time_s)
{
	return (uint64_t)set_flags << 32 | time_s;
}

/* False: the entry is a hole. */
static inline bool
tail_path(struct path_tail *t, unsigned i, struct rib_path *out)
{
	/* acquire: pairs with the release store in tail_fill; the attribute set is there */
	uint64_t body = atomic_load_explicit(&t->body[i], memory_order_acquire);
	struct dest_tail_peer *p = &tail_peers(t)[i];

	if (body == 0)
		return false;
	path_unpack(out, p->peer, atomic_load_explicit(&p->epoch, memory_order_relaxed),
		(uint32_t)(body >> 32), (uint32_t)body);
	if (t->changed)
		out->received.v = tail_received(t)[i];
	return true;
}

/* Expands the first `most` paths of the front. */
static inline void
view_wide(uint64_t word, unsigned most, union dest_paths *out)
{
	struct wide_set *w = word_wide(word);
	const uint32_t *received = wide_received(w);
	unsigned count = at_most(w->count, most);

	out->set = (struct path_set){.count = (uint16_t)count,
		.eligible = (uint16_t)at_most(w->eligible, most),
		.multipath = (uint16_t)at_most(w->multipath, most)};
	for (unsigned i = 0; i < count; i++)
		path_unpack(&out->room.path[i], w->path[i].peer,
			atomic_load_explicit(&w->path[i].epoch, memory_order_relaxed),
			w->path[i].set_flags, w->path[i].time_s);
	for (unsigned i = 0; received != NULL && i < count; i++)
		out->room.path[i].received.v = received[i];
}

static inline size_t
set_size(unsigned count)
{
	return sizeof(struct path_set) + count * sizeof(struct rib_path);
}

static inline size_t
packed_size(unsigned count, bool changed, bool labelled)
{
	return sizeof(struct packed_set) +
	       count * (sizeof(struct packed_path) + (changed ? sizeof(uint32_t) : 0) +
			       (labelled ? sizeof(uint32_t) : 0));
}

static inline unsigned
word_count(uint64_t word)
{
	if (word & INLINE)
		return 1;
	if (word & PACKED)
		return packed_count(word);
	if (word & WIDE)
		return word_wide(word)->count + wide_entries(word) - word_wide(word)->holes;
	return ((const struct path_set *)word_block(word))->count;
}

/* Bytes of the set outside the destination. */
static inline size_t
word_size(uint64_t word)
{
	if (word & INLINE)
		return 0;
	if (word & PACKED)
		return packed_size(packed_count(word), word & CHANGED, word & LABELLED);
	if (word & WIDE)
		return wide_bytes(word_wide(word)->changed) +
		       tail_bytes(word_wide(word)->tail->size, word_wide(word)->changed);
	return set_size(word_count(word));
}

/* The first paths of a set, while the owner builds the next set. */
struct front {
	unsigned count, eligible, multipath;
	struct packed_path path[PATHS_PACKED_MAX + 1];
	uint32_t received[PATHS_PACKED_MAX + 1];
	bool labelled; /* label[] is valid; otherwise no path has a label */
	uint32_t label[PATHS_PACKED_MAX + 1];
};

/* The received set if it is no set of its own. */
static inline uint32_t
packed_kept(const struct packed_path *p)
{
	return p->set_flags & (PACKED_REJECTED | PACKED_KEPT) ? p->set_flags >> 8 : 0;
}

static inline bool
front_changed(const struct front *f)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->received[i] != packed_kept(&f->path[i]))
			return true;
	return false;
}

/* True if one of the first `count` paths has a label. */
static inline bool
front_labelled(const struct front *f, unsigned count)
{
	for (unsigned i = 0; f->labelled && i < count; i++)
		if (f->label[i] != PATH_LABEL_NONE)
			return true;
	return false;
}

static inline void
front_label(struct front *f, unsigned at, uint32_t label)
{
	if (!f->labelled && label == PATH_LABEL_NONE)
		return;
	for (unsigned i = 0; !f->labelled && i <= PATHS_PACKED_MAX; i++)
		f->label[i] = PATH_LABEL_NONE;
	f->labelled = true;
	f->label[at] = label;
}

/* False: the path is uncommon. */
static inline bool
front_put(struct front *f, unsigned at, const struct rib_path *p)
{
	bool changed = false;
	uint32_t set_flags = path_pack(p, &changed);

	if (set_flags == 0)
		return false;
	f->path[at].peer = p->peer.v;
	f->path[at].set_flags = set_flags;
	f->path[at].time_s = p->time_s;
	atomic_init(&f->path[at].epoch, atomic_load_explicit(&p->epoch, memory_order_relaxed));
	f->received[at] = p->received.v;
	front_label(f, at, path_label(p));
	return true;
}

static inline void
packed_copy(struct packed_path *to, const struct packed_path *from)
{
	to->peer = from->peer;
	to->set_flags = from->set_flags;
	to->time_s = from->time_s;
	atomic_init(&to->epoch, atomic_load_explicit(&from->epoch, memory_order_relaxed));
}

/* `time_s`: of an INLINE path. No path: the word is a link. */
static inline void
front_load(struct front *f, uint64_t word, uint32_t time_s)
{
	const struct packed_path *path = NULL;
	const uint32_t *received = NULL, *label = NULL;
	union dest_paths one;

	f->count = f->eligible = f->multipath = 0;
	f->labelled = false;
	if (word & LINK)
		return;
	if (word & INLINE) {
		view_inline(word, time_s, &one);
		f->count = 1;
		f->eligible = one.set.eligible;
		f->multipath = one.set.multipath;
		(void)front_put(f, 0, &one.room.path[0]);
		return;
	}
	if (word & PACKED) {
		path = ((const struct packed_set *)word_block(word))->path;
		received = packed_received(word_block(word), word);
		label = packed_labels(word_block(word), word);
		f->count = packed_count(word);
		f->eligible = word >> ELIGIBLE_AT & 0xf;
		f->multipath = word >> MULTIPATH_AT & 0xf;
	} else {
		path = word_wide(word)->path;
		received = wide_received(word_wide(word));
		f->count = word_wide(word)->count;
		f->eligible = word_wide(word)->eligible;
		f->multipath = word_wide(word)->multipath;
	}
	for (unsigned i = 0; i < f->count; i++) {
		packed_copy(&f->path[i], &path[i]);
		f->received[i] = received != NULL ? received[i] : packed_kept(&path[i]);
		if (label != NULL)
			front_label(f, i, label[i]);
	}
}

static inline void
front_remove(struct front *f, unsigned at)
{
	f->count--;
	for (unsigned i = at; i < f->count; i++) {
		packed_copy(&f->path[i], &f->path[i + 1]);
		f->received[i] = f->received[i + 1];
		if (f->labelled)
			f->label[i] = f->label[i + 1];
	}
}

/* Makes room for a path at `at`. */
static inline void
front_open(struct front *f, unsigned at)
{
	for (unsigned i = f->count++; i > at; i--) {
		packed_copy(&f->path[i], &f->path[i - 1]);
		f->received[i] = f->received[i - 1];
		if (f->labelled)
			f->label[i] = f->label[i - 1];
	}
}

/* The INLINE word of a single path; 0 if the path does not fit. */
static inline uint64_t
front_inline(const struct front *f)
{
	const struct packed_path *p = &f->path[0];
	unsigned up = p->set_flags & PACKED_UP;

	if (f->count != 1 || front_changed(f) || front_labelled(f, 1) || f->eligible != up ||
		f->multipath != up)
		return 0;
	return INLINE | (uint64_t)(p->set_flags & 0xffu) << INLINE_FLAGS_AT |
	       (uint64_t)p->peer << INLINE_PEER_AT |
	       (uint64_t)(p->set_flags >> 8) << INLINE_SET_AT |
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
	else if (word & WIDE)
		set = word_wide(word)->path[0].set_flags >> 8;
	else
		set = ((const struct path_set *)word_block(word))->path[0].accepted.v;
	return (struct attr_id){set};
}
