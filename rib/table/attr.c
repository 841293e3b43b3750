/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/attr.h"

#include "rib/table/inspect.h"
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/table/deferred_free_impl.h"
#include "rib/table/slab_impl.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static_assert(sizeof(struct attr_set) == offsetof(struct attr_set, var),
	"no hidden tail: sets compare as bytes");

/* ---- AS_PATH ---- */

enum segment_type {
	SEGMENT_SET = 1,
	SEGMENT_SEQUENCE,
	SEGMENT_CONFED_SEQUENCE,
	SEGMENT_CONFED_SET
}; /* RFC 4271 4.3, RFC 5065 3 */

#define SEGMENT_MAX 255u

struct segment {
	const uint8_t *asn; /* network order */
	uint8_t type, count;
};

/*
 * Takes the next segment from *p. Returns false at the end, or if a segment does not fit (decoders
 * reject such paths).
 */
static bool
segment_next(const uint8_t **p, const uint8_t *end, struct segment *out)
{
	if (end - *p < 2)
		return false;
	out->type = (*p)[0];
	out->count = (*p)[1];
	out->asn = *p + 2;
	if (end - out->asn < (ptrdiff_t)(4u * out->count))
		return false;
	*p = out->asn + 4u * out->count;
	return true;
}

static uint32_t
asn_at(const struct segment *s, unsigned i)
{
	const uint8_t *b = s->asn + 4 * i;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void
asn_put(uint8_t *b, uint32_t asn)
{
	b[0] = (uint8_t)(asn >> 24);
	b[1] = (uint8_t)(asn >> 16);
	b[2] = (uint8_t)(asn >> 8);
	b[3] = (uint8_t)asn;
}

void
attr_set_derive(struct attr_set *a)
{
	attr_derive_path(a, attr_as_path(a));
	attr_derive_communities(a);
}

void
attr_derive_communities(struct attr_set *a)
{
	a->has &= ~(uint32_t)ATTR_LLGR_STALE;
	if (attr_has_community(a, COMMUNITY_LLGR_STALE))
		a->has |= ATTR_LLGR_STALE;
}

void
attr_derive_path(struct attr_set *a, const uint8_t *p)
{
	const uint8_t *end = p + a->as_path_len;
	struct segment s;
	bool first = true;

	a->as_path_hops = 0;
	a->first_asn = a->origin_asn = 0;
	while (segment_next(&p, end, &s)) {
		/*
		 * RFC 5065 5.3: confederation segments have length 0 and contain no external
		 * neighbour
		 */
		if (s.count == 0 || (s.type != SEGMENT_SET && s.type != SEGMENT_SEQUENCE))
			continue;
		bool sequence = s.type == SEGMENT_SEQUENCE;
		/* RFC 4271 9.1.2.2 a: a set counts 1 */
		a->as_path_hops = (uint16_t)(a->as_path_hops + (sequence ? s.count : 1));
		if (first && sequence)
			a->first_asn = asn_at(&s, 0);
		a->origin_asn = sequence ? asn_at(&s, s.count - 1u) : 0;
		first = false;
	}
}

unsigned
attr_as_path_count(const struct attr_set *a, uint32_t asn)
{
	return attr_path_count(attr_as_path(a), a->as_path_len, asn);
}

unsigned
attr_path_count(const uint8_t *p, size_t len, uint32_t asn)
{
	const uint8_t *end = p + len;
	struct segment s;
	unsigned n = 0;

	while (segment_next(&p, end, &s))
		for (unsigned i = 0; i < s.count; i++)
			n += asn_at(&s, i) == asn;
	return n;
}

bool
attr_as_path_contains(const struct attr_set *a, uint32_t asn)
{
	return attr_as_path_count(a, asn) > 0;
}

int
attr_set_prepend(const struct attr_set *a, uint32_t asn, unsigned count, struct attr_set *out,
	size_t out_size)
{
	const uint8_t *p = attr_as_path(a), *end = p + a->as_path_len;
	const uint8_t *rest = p; /* part copied unchanged */
	struct segment s;
	unsigned have = 0; /* numbers in the leading AS_SEQUENCE, which is filled first */

	if (count > UINT16_MAX)
		return -ENOSPC;
	if (count > 0 && segment_next(&p, end, &s) && s.type == SEGMENT_SEQUENCE &&
		s.count < SEGMENT_MAX) {
		have = s.count;
		rest = s.asn;
	}
	/* RFC 4271 5.1.2: numbers beyond 255 go into a new segment in front */
	unsigned total = have + count;
	unsigned segments = count == 0 ? 0 : (total + SEGMENT_MAX - 1) / SEGMENT_MAX;
	size_t path_len = 2u * segments + 4u * count + (size_t)(end - rest);
	size_t tail_len = attr_set_var_len(a) - a->as_path_len;

	if (path_len > UINT16_MAX || sizeof(*a) + path_len + tail_len > out_size)
		return -ENOSPC;
	memcpy(out, a, sizeof(*a));
	uint8_t *w = out->var;
	for (unsigned left = count; segments > 0; segments--) {
		/*
		 * the last segment has `have` old numbers and is filled up with new ones; segments
		 * before it contain only new numbers
		 */
		unsigned room = segments == 1 ? SEGMENT_MAX - have : SEGMENT_MAX;
		unsigned later = segments == 1 ? 0 : (segments - 1) * SEGMENT_MAX - have;
		unsigned n = left - later < room ? left - later : room;

		*w++ = SEGMENT_SEQUENCE;
		*w++ = (uint8_t)(segments == 1 ? n + have : n);
		for (unsigned i = 0; i < n; i++, w += 4)
			asn_put(w, asn);
		left -= n;
	}
	memcpy(w, rest, (size_t)(end - rest));
	memcpy(w + (end - rest), end, tail_len);
	out->as_path_len = (uint16_t)path_len;
	attr_set_derive(out);
	return 0;
}

/* Appends like snprintf: counts beyond the end. */
struct text {
	char *buf;
	size_t size, len;
};

static void
text_char(struct text *t, char c)
{
	if (t->len + 1 < t->size)
		t->buf[t->len] = c;
	t->len++;
}

static void
text_number(struct text *t, uint32_t v)
{
	char digits[10];
	unsigned n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	while (n > 0)
		text_char(t, digits[--n]);
}

size_t
attr_as_path_format(const struct attr_set *a, char *buf, size_t size)
{
	/* by segment type: opening, separator, closing; RFC 5396: plain numbers */
	static const char marks[5][3] = {
		{'<', ' ', '>'},
		{'{', ',', '}'},
		{'\0', ' ', '\0'},
		{'(', ' ', ')'},
		{'[', ',', ']'},
	};
	struct text t = {.buf = buf, .size = size};
	const uint8_t *p = attr_as_path(a), *end = p + a->as_path_len;
	struct segment s;

	while (segment_next(&p, end, &s)) {
		const char *m = marks[s.type <= SEGMENT_CONFED_SET ? s.type : 0];

		if (s.count == 0)
			continue;
		if (t.len > 0)
			text_char(&t, ' ');
		if (m[0] != '\0')
			text_char(&t, m[0]);
		for (unsigned i = 0; i < s.count; i++) {
			if (i > 0)
				text_char(&t, m[1]);
			text_number(&t, asn_at(&s, i));
		}
		if (m[2] != '\0')
			text_char(&t, m[2]);
	}
	if (size > 0)
		buf[t.len < size ? t.len : size - 1] = '\0';
	return t.len;
}

unsigned
attr_as_path_numbers(const struct attr_set *a, struct as_path_number *out, unsigned size)
{
	const uint8_t *p = attr_as_path(a), *end = p + a->as_path_len;
	struct segment s;
	bool bare = false; /* the last segment is an AS_SEQUENCE, without brackets */
	unsigned n = 0;

	while (segment_next(&p, end, &s)) {
		bool sequence = s.type == SEGMENT_SEQUENCE;

		for (unsigned i = 0; i < s.count; i++, n++)
			if (n < size)
				out[n] = (struct as_path_number){.asn = asn_at(&s, i),
					.first = n == 0 && sequence,
					.follows = i > 0 || (bare && sequence)};
		if (s.count > 0)
			bare = sequence;
	}
	if (n > 0 && n <= size)
		out[n - 1].last = bare;
	return n;
}

/* ---- interned sets ---- */

/*
 * A slot per id, 16 bytes. `set` stays readable for a grace period after the last reference was
 * released, because a reader may have the id from a path set that was replaced meanwhile.
 */
struct attr_slot {
	_Atomic(struct attr_packed *) set; /* NULL: free */
	/* changes with each use of the id; survives freeing. 0: not used, or the pages were given back */
	_Atomic uint32_t serial;
	uint32_t refs; /* owner only, with DYING; in a free slot: the next free slot, as below */
};
#define DYING (1u << 31) /* the id is in attr_table.dying */
static_assert(sizeof(struct attr_slot) == 16, "16 bytes a set beside the set itself");

#define SEGMENT_BITS 12
#define SEGMENT_SLOTS (1u << SEGMENT_BITS)
#define DISCARD_STEP 4u /* segments in a piece of work: some 20 us */
#define SEGMENTS_MAX 4096u /* 16.7 million sets: sixty full tables without a common set */

/*
 * Ids come from the lowest segment with a free slot, so that segments at the end become empty when
 * sets go. The pages of an empty segment are given back to the system. The address range stays:
 * a reader with an old id finds a slot without a set.
 */
struct attr_segment {
	uint16_t used; /* slots with a set, or with a set that waits to be freed */
	uint16_t fresh; /* slots from here on have not been used since the segment was empty */
	uint16_t free; /* slot + 1 of the first free one below `fresh`; 0: none */
	uint8_t pages; /* enum segment_pages */
};
enum segment_pages { PAGES_USED, PAGES_EMPTY /* counted in empty_count */, PAGES_GIVEN_BACK };

/*
 * The owner's index: open addressing, with the low half of the hash, so growing and failed
 * searches read no sets.
 */
struct attr_index {
	uint32_t id; /* 0: empty */
	uint32_t hash;
};

/*
 * Resizing: a second index is cleared, then filled in pieces, with each new set and each turn. A
 * piece takes some microseconds; copying all 190,000 sets of a full table at once would take
 * several milliseconds. Entries are copied by position, without reading sets. A new entry goes
 * into both indexes. An entry that a removal moves across the copying position is copied then or
 * met again, but inserted only once. A small index (100 us) is copied at once, because the
 * insertions left before the new index is full may be too few to copy a larger old index.
 */
#define CLEAR_STEP 4096
#define COPY_STEP 256 /* places */
#define AT_ONCE_MAX 16384u
#define INDEX_MIN 1024u

/*
 * Sets without references stay in the index until DYING_MAX are collected: freeing one set costs
 * three dependent cache misses; for a batch the misses overlap. attr_intern() finds and revives
 * such sets.
 */
#define DYING_MAX 64

struct attr_table {
	struct arena *arena;
	struct slab sets; /* the packed sets */
	struct attr_index *index;
	uint32_t index_size; /* entries: a power of two, or one and a half */
	struct attr_index *next; /* NULL: none */
	uint32_t next_size, next_cleared; /* next_cleared: positions cleared */
	uint32_t next_at; /* positions of `index` below have been copied */
	struct attr_packed *scratch; /* attr_intern(): the set packed */
	size_t scratch_size;
	struct hash_probes probes;
	uint32_t dying_count, dying[DYING_MAX]; /* ids */
	struct deferred_free deferred;
	uint32_t serial_floor; /* no serial of a segment given back is higher */
	uint32_t empty_count; /* segments that are PAGES_EMPTY */
	uint32_t room_from; /* words of `room` below are 0 */
	uint64_t
		room[SEGMENTS_MAX / 64]; /* bits: segments with a free slot, or not yet allocated */
	struct attr_segment state[SEGMENTS_MAX];
	/*
	 * with accounting, by segment: the owners of its sets. Slots and owners are blocks of their
	 * own, because both sizes are size classes of the allocator, and the sum is not.
	 */
	uint16_t **owners;
	_Atomic size_t *charged; /* by owner of sets; NULL: no accounting */
	uint16_t owner; /* of the next set */
	_Atomic uint32_t count; /* with references */
	_Atomic size_t bytes;
	/* only a new segment changes these; readers need them for each set */
	alignas(CACHE_LINE) _Atomic uint32_t reach; /* ids below have a slot */
	struct attr_slot *segment[SEGMENTS_MAX]; /* written before `reach` passes its ids */
};

static uint16_t *
owner_of(const struct attr_table *t, uint32_t id)
{
	return &t->owners[id >> SEGMENT_BITS][id & (SEGMENT_SLOTS - 1)];
}

#define SET_OVERHEAD 32 /* its slot and its share of the index */

/* Charges a new set of `size` bytes to the current owner. */
static void
charge(struct attr_table *t, uint32_t id, size_t size)
{
	_Atomic size_t *sum;

	if (t->charged == NULL)
		return;
	*owner_of(t, id) = t->owner;
	sum = &t->charged[t->owner];
	atomic_store_explicit(sum,
		atomic_load_explicit(sum, memory_order_relaxed) + size + SET_OVERHEAD,
		memory_order_relaxed);
}

static void
discharge(struct attr_table *t, uint32_t id, size_t size)
{
	_Atomic size_t *sum;

	if (t->charged == NULL)
		return;
	sum = &t->charged[*owner_of(t, id)];
	atomic_store_explicit(sum,
		atomic_load_explicit(sum, memory_order_relaxed) - size - SET_OVERHEAD,
		memory_order_relaxed);
}

int
attr_table_charge(struct attr_table *t, unsigned owners)
{
	t->owners = arena_calloc(t->arena, SEGMENTS_MAX * sizeof(*t->owners));
	if (t->owners != NULL)
		t->charged = arena_calloc(t->arena, owners * sizeof(*t->charged));
	return t->charged != NULL ? 0 : -ENOMEM;
}

void
attr_table_owner(struct attr_table *t, unsigned owner)
{
	t->owner = (uint16_t)owner;
}

size_t
attr_table_charged(const struct attr_table *t, unsigned owner)
{
	return t->charged != NULL ? atomic_load_explicit(&t->charged[owner], memory_order_relaxed)
				  : 0;
}

static struct attr_slot *
slot_of(const struct attr_table *t, uint32_t id)
{
	return &t->segment[id >> SEGMENT_BITS][id & (SEGMENT_SLOTS - 1)];
}

static void
bytes_add(struct attr_table *t, size_t n)
{
	size_t old = atomic_load_explicit(&t->bytes, memory_order_relaxed);

	atomic_store_explicit(&t->bytes, old + n, memory_order_relaxed);
}

static void
count_add(struct attr_table *t, uint32_t n)
{
	uint32_t old = atomic_load_explicit(&t->count, memory_order_relaxed);

	atomic_store_explicit(&t->count, old + n, memory_order_relaxed);
}

uint32_t
attr_packed_hash(const struct attr_packed *p, size_t size)
{
	uint32_t h = (uint32_t)hash_bytes(p, size);

	return h != 0 ? h : 1;
}

static size_t
segment_bytes(const struct attr_table *t)
{
	return SEGMENT_SLOTS *
	       (sizeof(struct attr_slot) + (t->charged != NULL ? sizeof(uint16_t) : 0));
}

/* Puts the slot of a freed set on the list of its segment. */
static void
slot_release(struct attr_table *t, uint32_t id)
{
	uint32_t n = id >> SEGMENT_BITS;
	struct attr_segment *g = &t->state[n];

	slot_of(t, id)->refs = g->free;
	g->free = (uint16_t)((id & (SEGMENT_SLOTS - 1)) + 1);
	t->room[n / 64] |= UINT64_C(1) << n % 64;
	if (n / 64 < t->room_from)
		t->room_from = n / 64;
	if (--g->used > 0)
		return;
	g->free = g->fresh = 0;
	g->pages = PAGES_EMPTY;
	t->empty_count++;
}

/* Gives the pages of an empty segment back. */
static void
segment_discard(struct attr_table *t, uint32_t n)
{
	for (uint32_t i = 0; i < SEGMENT_SLOTS; i++) {
		uint32_t serial =
			atomic_load_explicit(&t->segment[n][i].serial, memory_order_relaxed);

		if (serial > t->serial_floor)
			t->serial_floor = serial;
	}
	arena_discard(t->segment[n], SEGMENT_SLOTS * sizeof(struct attr_slot));
	if (t->charged != NULL)
		arena_discard(t->owners[n], SEGMENT_SLOTS * sizeof(**t->owners));
	bytes_add(t, -segment_bytes(t));
	t->state[n].pages = PAGES_GIVEN_BACK;
	t->empty_count--;
}

/* True if an empty segment is left. */
static bool
segments_discard_some(struct attr_table *t)
{
	uint32_t reach = atomic_load_explicit(&t->reach, memory_order_relaxed) >> SEGMENT_BITS;

	for (unsigned left = DISCARD_STEP; left > 0 && t->empty_count > 0; left--) {
		uint32_t n = reach;

		do
			n--;
		while (t->state[n].pages != PAGES_EMPTY);
		segment_discard(t, n);
	}
	return t->empty_count > 0;
}

static void
slot_free(void *ctx, void *p)
{
	struct attr_table *t = ctx;
	uint32_t id = (uint32_t)(uintptr_t)p;
	struct attr_slot *s = slot_of(t, id);
	struct attr_packed *set = atomic_load_explicit(&s->set, memory_order_relaxed);
	size_t size = attr_packed_size(set);

	/* relaxed: no reader has this id any more */
	atomic_store_explicit(&s->set, NULL, memory_order_relaxed);
	bytes_add(t, -size);
	discharge(t, id, size);
	slab_free(&t->sets, set, size);
	slot_release(t, id);
}

/* Prefetches the head of the set, which contains its size. */
static void
slot_free_prefetch(void *ctx, void *p)
{
	const struct attr_slot *s = slot_of(ctx, (uint32_t)(uintptr_t)p);

	__builtin_prefetch(atomic_load_explicit(&s->set, memory_order_relaxed));
}

int
attr_table_create(struct arena *a, struct qsbr *readers, struct attr_table **out)
{
	struct attr_table *t = arena_alloc_aligned(a, CACHE_LINE, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->arena = a;
	slab_init(&t->sets, a);
	t->index_size = INDEX_MIN;
	t->index = arena_calloc(a, t->index_size * sizeof(*t->index));
	deferred_free_init(&t->deferred, a, readers, slot_free, t);
	if (t->index == NULL) {
		arena_free(a, t);
		return -ENOMEM;
	}
	t->deferred.prefetch = slot_free_prefetch;
	memset(t->room, 0xff, sizeof(t->room));
	t->state[0] = (struct attr_segment){.used = 1, .fresh = 1}; /* id 0 */
	bytes_add(t, sizeof(*t) + t->index_size * sizeof(*t->index));
	*out = t;
	return 0;
}

void
attr_table_destroy(struct attr_table *t)
{
	if (t == NULL)
		return;
	deferred_free_fini(&t->deferred);
	for (unsigned n = 0; n < SEGMENTS_MAX && t->segment[n] != NULL; n++) {
		for (unsigned i = 0; i < t->state[n].fresh; i++) {
			struct attr_packed *set =
				atomic_load_explicit(&t->segment[n][i].set, memory_order_relaxed);

			if (set != NULL)
				slab_free(&t->sets, set, attr_packed_size(set));
		}
		arena_free(t->arena, t->segment[n]);
	}
	for (unsigned i = 0; t->owners != NULL && i < SEGMENTS_MAX && t->owners[i] != NULL; i++)
		arena_free(t->arena, t->owners[i]);
	arena_free(t->arena, t->owners);
	arena_free(t->arena, t->scratch);
	arena_free(t->arena, t->charged);
	arena_free(t->arena, t->next);
	arena_free(t->arena, t->index);
	arena_free(t->arena, t);
}

/*
 * The home of a hash. Homes keep the order of the hashes, so that one index is copied to another
 * from front to back.
 */
static inline uint32_t
index_home(uint32_t hash, uint32_t size)
{
	return (uint32_t)((uint64_t)hash * size >> 32);
}

static inline uint32_t
index_after(uint32_t i, uint32_t size)
{
	return i + 1 < size ? i + 1 : 0;
}

/* How many positions `i` comes after `from`. */
static inline uint32_t
index_distance(uint32_t from, uint32_t i, uint32_t size)
{
	return i >= from ? i - from : i + size - from;
}

static void
index_insert(struct attr_index *index, uint32_t size, struct attr_index e)
{
	uint32_t i = index_home(e.hash, size);

	while (index[i].id != 0)
		i = index_after(i, size);
	index[i] = e;
}

/* index_insert() unless the entry exists. */
static void
index_insert_once(struct attr_index *index, uint32_t size, struct attr_index e)
{
	uint32_t i = index_home(e.hash, size);

	for (; index[i].id != 0; i = index_after(i, size))
		if (index[i].id == e.id)
			return;
	index[i] = e;
}

/* The second index is cleared and receives entries. */
static bool
next_filling(const struct attr_table *t)
{
	return t->next != NULL && t->next_cleared == t->next_size;
}

/* Removes an entry from `index` (which may not contain the entry), and closes the gap. */
static void
index_remove(
	struct attr_table *t, struct attr_index *index, uint32_t size, uint32_t id, uint32_t hash)
{
	uint32_t hole = index_home(hash, size);
	bool copies = index == t->index && next_filling(t);

	for (; index[hole].id != id; hole = index_after(hole, size))
		if (index[hole].id == 0)
			return;
	for (uint32_t i = index_after(hole, size); index[i].id != 0; i = index_after(i, size)) {
		if (index_distance(index_home(index[i].hash, size), i, size) <
			index_distance(hole, i, size))
			continue; /* the entry's own position is after the gap */
		index[hole] = index[i];
		if (copies && hole < t->next_at)
			index_insert_once(t->next, t->next_size, index[hole]);
		hole = i;
	}
	index[hole] = (struct attr_index){0};
}

static int
next_begin(struct attr_table *t, uint32_t size)
{
	t->next = arena_alloc(t->arena, size * sizeof(*t->next));
	if (t->next == NULL)
		return -ENOMEM;
	bytes_add(t, size * sizeof(*t->next));
	t->next_size = size;
	t->next_cleared = 0;
	t->next_at = 0;
	return 0;
}

/* Clears a piece of the second index. Returns true when done. */
static bool
next_clear(struct attr_table *t)
{
	uint32_t left = t->next_size - t->next_cleared, n = left < CLEAR_STEP ? left : CLEAR_STEP;

	memset(&t->next[t->next_cleared], 0, n * sizeof(*t->next));
	t->next_cleared += n;
	return t->next_cleared == t->next_size;
}

static void
next_use(struct attr_table *t)
{
	bytes_add(t, -(size_t)t->index_size * sizeof(*t->index));
	arena_release(t->arena, t->index);
	t->index = t->next;
	t->index_size = t->next_size;
	t->next = NULL;
}

static void
next_copy(struct attr_table *t)
{
	while (!next_clear(t))
		;
	for (uint32_t i = 0; i < t->index_size; i++)
		if (t->index[i].id != 0)
			index_insert(t->next, t->next_size, t->index[i]);
	next_use(t);
}

static void
next_step(struct attr_table *t)
{
	uint32_t end;

	if (t->index_size <= AT_ONCE_MAX) {
		next_copy(t);
		return;
	}
	if (!next_filling(t)) {
		(void)next_clear(t);
		return;
	}
	end = t->index_size - t->next_at > COPY_STEP ? t->next_at + COPY_STEP : t->index_size;
	for (; t->next_at < end; t->next_at++)
		if (t->index[t->next_at].id != 0)
			index_insert_once(t->next, t->next_size, t->index[t->next_at]);
	if (t->next_at == t->index_size)
		next_use(t);
}

static void
next_drop(struct attr_table *t)
{
	bytes_add(t, -(size_t)t->next_size * sizeof(*t->next));
	arena_free(t->arena, t->next);
	t->next = NULL;
}

/* The next larger size. Above AT_ONCE_MAX an index is at least half full after it has grown. */
static uint32_t
size_above(uint32_t size)
{
	if (size < AT_ONCE_MAX)
		return size * 2;
	return size + (1u << (31 - __builtin_clz(size)) >> 1);
}

/* Makes room for one more entry, below a load of 3/4 or while resizing. */
static int
index_reserve(struct attr_table *t)
{
	uint32_t count = atomic_load_explicit(&t->count, memory_order_relaxed);

	if (t->next != NULL && count + 1 > t->next_size / 4 * 3)
		next_drop(t); /* it was meant to be smaller */
	if (t->next == NULL && count + 1 > t->index_size / 4 * 3)
		(void)next_begin(t, size_above(t->index_size));
	if (t->next != NULL)
		next_step(t);
	/* without memory the index continues, slower, as long as probes terminate */
	return count < t->index_size / 16 * 15 ? 0 : -ENOMEM;
}

/* Shrinks the index to a quarter when an eighth is in use. */
static void
index_shrink(struct attr_table *t)
{
	uint32_t count = atomic_load_explicit(&t->count, memory_order_relaxed);

	if (t->next == NULL && t->index_size > INDEX_MIN && count < t->index_size / 8)
		(void)next_begin(t, t->index_size / 4 > INDEX_MIN ? t->index_size / 4 : INDEX_MIN);
	for (unsigned i = 0; i < 4 && t->next != NULL; i++)
		next_step(t);
}

/* 0, -ENOMEM. */
static int
segment_add(struct attr_table *t, uint32_t n)
{
	if (t->charged != NULL && t->owners[n] == NULL) {
		t->owners[n] = arena_alloc(t->arena, SEGMENT_SLOTS * sizeof(**t->owners));
		if (t->owners[n] == NULL)
			return -ENOMEM;
	}
	t->segment[n] = arena_calloc_touched(t->arena, SEGMENT_SLOTS * sizeof(struct attr_slot));
	if (t->segment[n] == NULL)
		return -ENOMEM;
	/* release: pairs with the load in slot_read; unused slots have no set */
	atomic_store_explicit(&t->reach, (n + 1) << SEGMENT_BITS, memory_order_release);
	bytes_add(t, segment_bytes(t));
	return 0;
}

/* Returns a free id with a slot, without taking the id. 0: none. */
static uint32_t
id_reserve(struct attr_table *t)
{
	const struct attr_segment *g;
	uint32_t n;

	while (t->room_from < SEGMENTS_MAX / 64 && t->room[t->room_from] == 0)
		t->room_from++;
	if (t->room_from == SEGMENTS_MAX / 64)
		return 0;
	n = t->room_from * 64 + (uint32_t)__builtin_ctzll(t->room[t->room_from]);
	if (t->segment[n] == NULL && segment_add(t, n) < 0)
		return 0;
	g = &t->state[n];
	return n << SEGMENT_BITS | (g->free != 0 ? g->free - 1u : g->fresh);
}

/* Takes the id of id_reserve(). */
static void
id_take(struct attr_table *t, uint32_t id)
{
	uint32_t n = id >> SEGMENT_BITS;
	struct attr_segment *g = &t->state[n];

	if (g->free != 0)
		g->free = (uint16_t)slot_of(t, id)->refs;
	else
		g->fresh++;
	g->used++;
	if (g->pages == PAGES_EMPTY)
		t->empty_count--;
	else if (g->pages == PAGES_GIVEN_BACK)
		bytes_add(t, segment_bytes(t));
	g->pages = PAGES_USED;
	if (g->free == 0 && g->fresh == SEGMENT_SLOTS)
		t->room[n / 64] &= ~(UINT64_C(1) << n % 64);
}

static void
slot_publish(struct attr_table *t, uint32_t id, struct attr_packed *copy, uint32_t refs)
{
	struct attr_slot *s = slot_of(t, id);
	uint32_t serial = atomic_load_explicit(&s->serial, memory_order_relaxed);

	serial = (serial != 0 ? serial : t->serial_floor) + 1;
	id_take(t, id);
	s->refs = refs;
	atomic_store_explicit(&s->serial, serial != 0 ? serial : 1, memory_order_relaxed);
	/* release: pairs with the loads in attr_get and attr_serial */
	atomic_store_explicit(&s->set, copy, memory_order_release);
}

static uint32_t
index_find(struct attr_table *t, const struct attr_packed *a, size_t size, uint32_t hash)
{
	uint32_t home = index_home(hash, t->index_size), i = home, id;

	for (; (id = t->index[i].id) != 0; i = index_after(i, t->index_size)) {
		if (t->index[i].hash != hash)
			continue;
		const struct attr_packed *b =
			atomic_load_explicit(&slot_of(t, id)->set, memory_order_relaxed);
		if (attr_packed_size(b) == size && memcmp(a, b, size) == 0)
			break;
	}
	hash_probes_add(&t->probes, index_distance(home, i, t->index_size));
	return id;
}

/* Takes references on a set in the index. */
static void
slot_ref(struct attr_table *t, struct attr_slot *s, uint32_t refs)
{
	if (s->refs == DYING)
		count_add(t, 1);
	s->refs += refs;
}

void
attr_prefetch_hash(const struct attr_table *t, uint32_t hash)
{
	__builtin_prefetch(&t->index[index_home(hash, t->index_size)]);
}

/* Packs `a` into t->scratch; `like` as of attr_pack_like(), or NULL. Returns the size, -ENOMEM or -E2BIG. */
static int
scratch_pack(struct attr_table *t, const struct attr_packed *like, const struct attr_set *a)
{
	size_t bound = attr_pack_bound(a);

	if (attr_set_size(a) > ATTR_SET_MAX)
		return -E2BIG;
	if (bound > t->scratch_size) {
		struct attr_packed *p = arena_realloc(t->arena, t->scratch, bound);

		if (p == NULL)
			return -ENOMEM;
		t->scratch = p;
		t->scratch_size = bound;
	}
	return (int)(like != NULL ? attr_pack_like(like, a, t->scratch) : attr_pack(a, t->scratch));
}

int
attr_intern(struct attr_table *t, const struct attr_set *a, uint32_t refs, struct attr_id *out)
{
	return attr_intern_like(t, NULL, a, refs, out);
}

int
attr_intern_like(struct attr_table *t, const struct attr_packed *like, const struct attr_set *a,
	uint32_t refs, struct attr_id *out)
{
	int size = scratch_pack(t, like, a);

	if (size < 0)
		return size;
	return attr_intern_packed(
		t, t->scratch, (size_t)size, attr_packed_hash(t->scratch, (size_t)size), refs, out);
}

bool
attr_equals(struct attr_table *t, struct attr_id id, const struct attr_set *a)
{
	const struct attr_packed *p = attr_get(t, id);
	int size = p != NULL ? scratch_pack(t, NULL, a) : -1;

	return size >= 0 && attr_packed_size(p) == (size_t)size &&
	       memcmp(p, t->scratch, (size_t)size) == 0;
}

int
attr_intern_packed(struct attr_table *t, const struct attr_packed *a, size_t size, uint32_t hash,
	uint32_t refs, struct attr_id *out)
{
	uint32_t id = index_find(t, a, size, hash);
	struct attr_packed *copy;

	if (id != 0) {
		slot_ref(t, slot_of(t, id), refs);
		out->v = id;
		return 0;
	}
	id = id_reserve(t);
	if (id == 0 || index_reserve(t) < 0)
		return -ENOMEM;
	copy = slab_alloc(&t->sets, size);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, a, size);
	bytes_add(t, size);
	count_add(t, 1);
	index_insert(t->index, t->index_size, (struct attr_index){id, hash});
	if (next_filling(t))
		index_insert(t->next, t->next_size, (struct attr_index){id, hash});
	slot_publish(t, id, copy, refs);
	charge(t, id, size);
	out->v = id;
	return 0;
}

void
attr_ref(struct attr_table *t, struct attr_id id, uint32_t refs)
{
	slot_ref(t, slot_of(t, id.v), refs);
}

bool
attr_ref_again(struct attr_table *t, struct attr_id id, uint32_t refs)
{
	struct attr_slot *s = slot_of(t, id.v);

	if (s->refs == 0)
		return false;
	slot_ref(t, s, refs);
	return true;
}

/* Removes sets without references from the index, except sets interned again. */
static void
dying_remove(struct attr_table *t)
{
	uint32_t hash[DYING_MAX], n = 0;

	for (uint32_t i = 0; i < t->dying_count; i++) {
		struct attr_slot *s = slot_of(t, t->dying[i]);

		s->refs &= ~DYING;
		if (s->refs > 0)
			continue;
		t->dying[n++] = t->dying[i];
		attr_packed_prefetch(atomic_load_explicit(&s->set, memory_order_relaxed));
	}
	t->dying_count = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct attr_packed *set =
			atomic_load_explicit(&slot_of(t, t->dying[i])->set, memory_order_relaxed);

		hash[i] = attr_packed_hash(set, attr_packed_size(set));
		__builtin_prefetch(&t->index[index_home(hash[i], t->index_size)], 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		index_remove(t, t->index, t->index_size, t->dying[i], hash[i]);
		if (next_filling(t))
			index_remove(t, t->next, t->next_size, t->dying[i], hash[i]);
		deferred_free_push(&t->deferred, (void *)(uintptr_t)t->dying[i]);
	}
}

void
attr_unref(struct attr_table *t, struct attr_id id, uint32_t refs)
{
	struct attr_slot *s = slot_of(t, id.v);

	assert(refs > 0 && (s->refs & ~DYING) >= refs);
	s->refs -= refs;
	if ((s->refs & ~DYING) > 0)
		return;
	count_add(t, -1u);
	if (s->refs & DYING)
		return;
	s->refs = DYING;
	t->dying[t->dying_count++] = id.v;
	if (t->dying_count == DYING_MAX)
		dying_remove(t);
}

bool
attr_table_reclaim_some(struct attr_table *t)
{
	bool more;

	dying_remove(t);
	more = deferred_free_reclaim(&t->deferred, 1);
	index_shrink(t);
	if (!more)
		more = segments_discard_some(t);
	return more || t->next != NULL;
}

bool
attr_table_behind(const struct attr_table *t)
{
	return deferred_free_behind(&t->deferred);
}

void
attr_table_reclaim(struct attr_table *t)
{
	for (unsigned i = 0; i < 4 && attr_table_reclaim_some(t); i++)
		;
}

uint32_t
attr_table_count(const struct attr_table *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

const struct hash_probes *
attr_table_probes(const struct attr_table *t)
{
	return &t->probes;
}

size_t
attr_table_bytes(const struct attr_table *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

static const struct attr_slot *
slot_read(const struct attr_table *t, struct attr_id id)
{
	/* acquire: pairs with the release store in segment_add */
	if (id.v == 0 || id.v >= atomic_load_explicit(&t->reach, memory_order_acquire))
		return NULL;
	return slot_of(t, id.v);
}

const struct attr_packed *
attr_get(const struct attr_table *t, struct attr_id id)
{
	const struct attr_slot *s = slot_read(t, id);

	/* acquire: pairs with the release store in slot_publish */
	return s != NULL ? atomic_load_explicit(&s->set, memory_order_acquire) : NULL;
}

struct attr_set *
attr_read(const struct attr_table *t, struct attr_id id, struct attr_set *out)
{
	const struct attr_packed *p = attr_get(t, id);

	return p != NULL ? attr_unpack(p, out) : NULL;
}

uint32_t
attr_serial(const struct attr_table *t, struct attr_id id)
{
	const struct attr_slot *s = slot_read(t, id);

	/*
	 * acquire: pairs with the release store in slot_publish, which follows the store of the
	 * serial
	 */
	if (s == NULL || atomic_load_explicit(&s->set, memory_order_acquire) == NULL)
		return 0;
	return atomic_load_explicit(&s->serial, memory_order_relaxed);
}

void
attr_prefetch(const struct attr_table *t, struct attr_id id)
{
	const struct attr_slot *s = slot_read(t, id);

	if (s != NULL)
		__builtin_prefetch(s);
}

void
attr_packed_prefetch(const struct attr_packed *p)
{
	/* most sets end within these lines */
	__builtin_prefetch(p);
	__builtin_prefetch((const uint8_t *)p + CACHE_LINE);
}
