/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/dest_impl.h"

uint32_t
dest_limit(const struct dest_table *t)
{
	/* acquire: pairs with the release store in dest_get_hashed */
	return atomic_load_explicit(&t->limit, memory_order_acquire);
}

/* `most`: limit of paths expanded from a packed set. */
static inline const struct path_set *
word_paths(const struct destination *d, uint64_t word, unsigned most, union dest_paths *room)
{
	if (word & LINK)
		return NULL;
	if (word & INLINE)
		/* relaxed: the time may be newer than the word; no decision depends on an age */
		view_inline(word, atomic_load_explicit(&d->time_s, memory_order_relaxed), room);
	else if (word & PACKED)
		view_packed(word, most, room);
	else if (word & WIDE)
		view_wide(word, most, room);
	else
		return word_block(word);
	return &room->set;
}

static inline uint64_t
word_identity(uint64_t word)
{
	if (word & LINK || word_is_wide(word))
		return 0;
	return word & INLINE ? word & ~INLINE_EPOCH_MASK : word;
}

/* NULL: the id is free. */
static inline const struct destination *
dest_used(const struct dest_table *t, struct dest_id id)
{
	const struct destination *d;

	if (!is_there(t, id))
		return NULL;
	d = dest_at(t, id.v);
	/* acquire: pairs with the release store in dest_get_hashed */
	return atomic_load_explicit(&d->used, memory_order_acquire) ? d : NULL;
}

bool
dest_hint_prefix(const struct dest_table *t, struct dest_id id, struct prefix *out)
{
	const struct destination *d = dest_used(t, id);

	if (d != NULL)
		dest_prefix(t, d, out);
	return d != NULL;
}

/* *read: the word. */
static inline bool
peek(const struct dest_table *t, struct dest_id id, unsigned most, struct dest_view *out,
	uint64_t *read)
{
	const struct destination *d = dest_used(t, id);
	uint64_t word;

	if (d == NULL)
		return false;
	dest_prefix(t, d, &out->prefix);
	out->rd = dest_rd(t, d);
	/*
	 * acquire: pairs with the release store in word_set. The sequence is loaded afterwards, so
	 * the sequence may be newer than the paths (then a later journal entry follows) but never
	 * older.
	 */
	word = atomic_load_explicit(&d->word, memory_order_acquire);
	out->paths = word_paths(d, word, most, &out->room);
	out->ordered = out->paths != NULL ? out->paths->count : 0;
	out->behind = word_is_wide(word) ? wide_entries(word) : 0;
	/* acquire: pairs with the release store in fib_state_set */
	out->fib = (enum dest_fib)(atomic_load_explicit(&d->used, memory_order_acquire) >> FIB_AT);
	out->identity = word_identity(word);
	out->sequence = atomic_load_explicit(&d->sequence, memory_order_relaxed);
	*read = word;
	return true;
}

bool
dest_peek(const struct dest_table *t, struct dest_id id, struct dest_view *out)
{
	uint64_t word;

	return peek(t, id, PATHS_PACKED_MAX, out, &word);
}

bool
dest_peek_best(const struct dest_table *t, struct dest_id id, struct dest_view *out)
{
	uint64_t word;

	return peek(t, id, 1, out, &word);
}

static bool
is_among(const struct rib_path *p, unsigned n, uint16_t peer)
{
	for (unsigned i = 0; i < n; i++)
		if (p[i].peer.v == peer)
			return true;
	return false;
}

/* 0: eligible, 1: next hop not valid, 2: rejected */
static unsigned
path_class(const struct rib_path *p)
{
	if (p->label_flags & PATH_REJECTED)
		return 2;
	return p->label_flags & PATH_NEXT_HOP_UP ? 0 : 1;
}

/*
 * Each entry is read once: the owner may replace a path while a reader is here, and the path must
 * not count in two classes, nor in none.
 */
static void
tail_append(uint64_t word, const struct path_set *front, struct path_set *to)
{
	struct path_tail *tail = word_wide(word)->tail;
	unsigned n = wide_entries(word), end[3]; /* of each class in `to` */
	struct rib_path p;

	to->count = front->count;
	to->multipath = front->multipath;
	to->unused = 0;
	memcpy(to->path, front->path, front->count * sizeof(to->path[0]));
	end[0] = end[1] = end[2] = front->count;
	for (unsigned i = 0; i < n; i++) {
		unsigned class;

		if (!tail_path(tail, i, &p) || is_among(front->path, front->count, p.peer.v))
			continue;
		class = path_class(&p);
		/* the first path of each class behind moves to the end of that class */
		for (unsigned k = 2; k > class; k--)
			to->path[end[k]++] = to->path[end[k - 1]];
		to->path[end[class]++] = p;
	}
	to->eligible = (uint16_t)(front->eligible + end[0] - front->count);
	to->count = (uint16_t)end[2];
}

#define PEEK_ATTEMPTS 16 /* each change of a destination takes longer than a copy */

bool
dest_peek_all(const struct dest_table *t, struct dest_id id, struct dest_view *out,
	struct path_set *room, unsigned size)
{
	uint64_t word;

	for (unsigned i = 0; i < PEEK_ATTEMPTS; i++) {
		if (!peek(t, id, PATHS_PACKED_MAX, out, &word))
			return false;
		if (out->behind == 0 || out->paths->count + out->behind > size)
			return true;
		tail_append(word, out->paths, room);
		/* a path that has moved meanwhile may be missing */
		if (word_of(dest_at(t, id.v)) == word)
			break;
	}
	out->paths = room;
	out->behind = 0;
	return true;
}

bool
dest_offers(const struct dest_table *t, struct dest_id id, struct peer_id peer)
{
	struct dest_view view;
	struct rib_path p;
	uint64_t word;

	for (unsigned attempt = 0; attempt < PEEK_ATTEMPTS; attempt++) {
		if (!peek(t, id, PATHS_PACKED_MAX, &view, &word) || view.paths == NULL)
			return false;
		if (is_among(view.paths->path, view.paths->eligible, peer.v))
			return true;
		for (unsigned i = 0; i < view.behind; i++)
			if (tail_path(word_wide(word)->tail, i, &p) && p.peer.v == peer.v &&
				path_class(&p) == 0)
				return true;
		/* a path that has moved meanwhile may be missing */
		if (word_of(dest_at(t, id.v)) == word)
			return false;
	}
	return false;
}

static bool
longest_at(const struct dest_table *t, const struct ip_addr *a, unsigned len, struct dest_id *id,
	struct dest_view *out)
{
	struct prefix p = prefix_from_addr(a, (uint8_t)len);

	*id = dest_find(t, &p);
	return id->v != DEST_NONE && dest_peek(t, *id, out) && out->paths != NULL &&
	       out->paths->eligible > 0;
}

struct dest_id
dest_longest(const struct dest_table *t, const struct ip_addr *a, struct dest_view *out)
{
	struct dest_id id;

	if (a->afi != t->afi)
		return (struct dest_id){DEST_NONE};
	for (unsigned w = t->max_len / 64 + 1; w-- > 0;) {
		/* acquire: pairs with length_add */
		uint64_t bits = atomic_load_explicit(&t->lengths[w], memory_order_acquire);
		while (bits != 0) {
			unsigned b = 63 - (unsigned)__builtin_clzll(bits);
			if (longest_at(t, a, w * 64 + b, &id, out))
				return id;
			bits &= ~(1ull << b);
		}
	}
	return (struct dest_id){DEST_NONE};
}

bool
dest_is(const struct dest_table *t, struct dest_id id, struct vpn_rd rd, const struct prefix *p)
{
	const struct destination *d;

	if (!is_there(t, id) || p->afi != t->afi)
		return false;
	d = dest_at(t, id.v);
	return dest_has(t, d, rd, p) && atomic_load_explicit(&d->used, memory_order_relaxed);
}

void
dest_prefetch_id(const struct dest_table *t, struct dest_id id)
{
	if (is_there(t, id))
		__builtin_prefetch(dest_at(t, id.v));
}

void
dest_prefetch_paths(const struct dest_table *t, struct dest_id id)
{
	uint64_t word;

	if (!is_there(t, id))
		return;
	/* relaxed: a hint for prefetching, never dereferenced */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	if ((word & (LINK | INLINE)) == 0)
		__builtin_prefetch(word_block(word));
	if (word_is_wide(word))
		__builtin_prefetch((const uint8_t *)word_block(word) + CACHE_LINE);
	else if ((word & (LINK | PACKED)) == PACKED)
		__builtin_prefetch(
			(const uint8_t *)word_block(word) +
			packed_size(packed_count(word), word & CHANGED, word & LABELLED) - 1);
}

unsigned
dest_hint_rivals(
	const struct dest_table *t, struct dest_id id, struct attr_id set[PATHS_PACKED_MAX])
{
	const struct packed_path *path;
	unsigned count = 0;
	uint64_t word;

	if (!is_there(t, id))
		return 0;
	/* relaxed: the owner's own store */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	if (word & LINK)
		return 0;
	if (word_is_wide(word))
		tail_prefetch(word);
	if (word & INLINE)
		set[count++] = word_first_set(word);
	path = word & PACKED ? ((const struct packed_set *)word_block(word))->path : NULL;
	for (; path != NULL && count < packed_count(word); count++)
		set[count].v = path[count].set_flags >> 8;
	return count;
}

bool
dest_identical(
	const struct dest_table *t, struct dest_id id, uint64_t identity, struct prefix *prefix)
{
	const struct destination *d;

	if (!is_there(t, id))
		return false;
	d = dest_at(t, id.v);
	/* the word of a free id is links */
	if (word_identity(word_of(d)) != identity)
		return false;
	dest_prefix(t, d, prefix);
	return true;
}

bool
dest_alike(const struct dest_table *t, struct dest_id a, struct dest_id b)
{
	uint64_t first = LINK, second = LINK;

	/* relaxed: the words are compared, not dereferenced */
	if (is_there(t, a))
		first = atomic_load_explicit(&dest_at(t, a.v)->word, memory_order_relaxed);
	if (is_there(t, b))
		second = atomic_load_explicit(&dest_at(t, b.v)->word, memory_order_relaxed);
	return first == second || (first & second & LINK) != 0;
}

bool
dest_like_last(const struct dest_table *t, struct dest_id id)
{
	uint64_t word, last;

	if (id.v == 0 || !is_there(t, id))
		return false;
	/* relaxed: the words are compared, not dereferenced */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_relaxed);
	last = atomic_load_explicit(&dest_at(t, id.v - 1)->word, memory_order_relaxed);
	return word == last || (word & last & LINK) != 0;
}

struct attr_id
dest_hint_best(const struct dest_table *t, struct dest_id id)
{
	uint64_t word;

	if (!is_there(t, id))
		return (struct attr_id){0};
	/* acquire: pairs with the release store in word_set */
	word = atomic_load_explicit(&dest_at(t, id.v)->word, memory_order_acquire);
	return word_first_set(word);
}

uint32_t
dest_count(const struct dest_table *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

uint32_t
dest_path_count(const struct dest_table *t)
{
	return atomic_load_explicit(&t->path_count, memory_order_relaxed);
}

uint32_t
dest_tombstones(const struct dest_table *t)
{
	return atomic_load_explicit(&t->tombstones, memory_order_relaxed);
}

const struct hash_probes *
dest_table_probes(const struct dest_table *t)
{
	return &t->probes;
}

size_t
dest_table_bytes(const struct dest_table *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}
