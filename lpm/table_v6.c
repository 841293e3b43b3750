/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/table_v6.h"

#include "lpm/base/arena.h"
#include "lpm/inspect.h"
#include "lpm/shadow.h"
#include "lpm/table_impl.h"

#include <errno.h>
#include <string.h>

static_assert(PATH_LIST_NONE == 0, "the word 0 is no answer");
static_assert(PATH_LIST_MAX <= TABLE_V6_VALUE + 1, "a path list id is a word's value");

#define SLOTS (1u << 24)
#define LENGTH_SHIFT 24
#define LEVELS 14 /* 24 bits, then 13 times 8 bits */

struct table_v6 {
	struct arena *arena;
	uint32_t *words;
	struct groups groups; /* base: words */
	/* range of first-level slots with content; a rebuild skips the rest */
	uint32_t low, high;
	uint64_t shorts;
	struct table_map map;
};

struct v6 {
	uint64_t hi, lo;
};

/* A level of the table while being painted: a group, or the outermost range. */
struct frame {
	uint32_t *slot;
	uint32_t pos, last; /* slots before `pos` are done */
	uint32_t group;
	bool clean; /* the content is garbage: overwrite without reading */
	unsigned top;
	struct {
		uint32_t last; /* last slot */
		uint32_t word;
	} cover[26]; /* nested prefixes around `pos`, outermost first */
};

/* State of painting. Entries come in order. */
struct sweep {
	struct table_v6 *t;
	unsigned level; /* level of frame[0] */
	unsigned depth; /* frame[depth] is the innermost */
	struct v6 at; /* the last entry, inside all open frames */
	uint64_t writes;
	struct frame frame[LEVELS];
};

/* Level k covers the bits from level_start(k) up to, not including, level_end(k). */
static unsigned
level_start(unsigned level)
{
	return level == 0 ? 0 : 16 + 8 * level;
}

static unsigned
level_end(unsigned level)
{
	return 24 + 8 * level;
}

/* Level of the slots in which a prefix of this length ends. */
static unsigned
level_of(unsigned len)
{
	return len <= 24 ? 0 : (len - 17) / 8;
}

static struct v6
v6_of(const uint8_t *b)
{
	struct v6 a;

	memcpy(&a, b, sizeof(a));
	return (struct v6){__builtin_bswap64(a.hi), __builtin_bswap64(a.lo)};
}

static unsigned
v6_common(struct v6 a, struct v6 b)
{
	if (a.hi != b.hi)
		return (unsigned)__builtin_clzll(a.hi ^ b.hi);
	return a.lo != b.lo ? 64 + (unsigned)__builtin_clzll(a.lo ^ b.lo) : 128;
}

static uint32_t
slot_of(struct v6 a, unsigned level)
{
	if (level == 0)
		return (uint32_t)(a.hi >> 40);
	if (level <= 5)
		return a.hi >> (40 - 8 * level) & 0xff;
	return a.lo >> (104 - 8 * level) & 0xff;
}

/* Number of slots covered by a prefix of this length on its level. */
static uint32_t
span_of(unsigned len)
{
	return 1u << (level_end(level_of(len)) - len);
}

size_t
table_v6_bytes(uint32_t groups)
{
	size_t bytes = ((size_t)SLOTS + (size_t)groups * GROUP_ENTRIES) * sizeof(uint32_t);

	return table_map_bytes(bytes);
}

int
table_v6_create(struct arena *a, uint32_t groups, bool huge, struct table_v6 **out)
{
	size_t bytes = table_v6_bytes(groups);
	struct table_v6 *t;

	if (groups > TABLE_V6_GROUPS_MAX)
		return -ENOMEM;
	t = arena_calloc(a, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->arena = a;
	if (table_map_create(&t->map, a, bytes, (size_t)SLOTS * sizeof(uint32_t), huge) != 0) {
		arena_free(a, t);
		return -ENOMEM;
	}
	t->words = t->groups.base = t->map.at;
	t->groups.map = &t->map;
	t->groups.end = TABLE_V6_FIRST_GROUP + groups;
	t->low = SLOTS;
	groups_reset(&t->groups, TABLE_V6_FIRST_GROUP);
	*out = t;
	return 0;
}

void
table_v6_destroy(struct table_v6 *t)
{
	if (t == NULL)
		return;
	table_map_destroy(&t->map);
	arena_free(t->arena, t);
}

const uint32_t *
table_v6_words(const struct table_v6 *t)
{
	return t->words;
}

uint32_t
table_v6_groups_used(const struct table_v6 *t)
{
	return t->groups.used;
}

uint64_t
table_v6_short(const struct table_v6 *t)
{
	return t->shorts;
}

static bool
has_group(uint32_t word)
{
	return (word & TABLE_V6_GROUP) != 0;
}

/* Frees the group in `word` and all groups below. */
static void
groups_put(struct table_v6 *t, uint32_t word)
{
	uint32_t group[LEVELS], next[LEVELS];
	unsigned depth = 0;

	group[0] = word & TABLE_V6_VALUE;
	next[0] = 0;
	for (;;) {
		uint32_t at = next[depth]++;

		if (at == GROUP_ENTRIES) {
			group_put(&t->groups, group[depth]);
			if (depth-- == 0)
				return;
			continue;
		}
		word = group_at(&t->groups, group[depth])[at];
		if (has_group(word)) {
			group[++depth] = word & TABLE_V6_VALUE;
			next[depth] = 0;
		}
	}
}

/* Table word of a list. 0 for ::/0, which is `miss` in the generation. */
static uint32_t
word_of(uint32_t list, unsigned len)
{
	return len == 0 ? 0 : list | (uint32_t)(len - 1) << LENGTH_SHIFT;
}

/* Fills slots without reading groups. Branch-free, so the compiler can vectorize. */
static uint64_t
fill_clean(uint32_t *p, uint32_t count, uint32_t word)
{
	uint32_t writes = 0;

	for (uint32_t i = 0; i < count; i++) {
		writes += p[i] != word;
		p[i] = word;
	}
	return writes;
}

static uint64_t
fill(struct table_v6 *t, uint32_t *p, uint32_t count, uint32_t word)
{
	uint64_t writes = 0;

	for (uint32_t *end = p + count; p < end; p++) {
		uint32_t old = *p;

		if (old == word)
			continue;
		*p = word;
		writes++;
		if (has_group(old))
			groups_put(t, old);
	}
	return writes;
}

static void
frame_leave(struct frame *f)
{
	while (f->top > 0 && f->cover[f->top].last < f->pos)
		f->top--;
}

/* Fills the slots from `pos` up to, not including, `to` from the covering prefixes. */
static void
frame_fill(struct sweep *s, struct frame *f, uint32_t to)
{
	while (f->pos < to) {
		uint32_t last = f->cover[f->top].last;
		uint32_t count = (last < to ? last + 1 : to) - f->pos;
		uint32_t word = f->cover[f->top].word;

		if (f->clean)
			s->writes += fill_clean(&f->slot[f->pos], count, word);
		else
			s->writes += fill(s->t, &f->slot[f->pos], count, word);
		f->pos += count;
		frame_leave(f);
	}
}

/* Initializes single fields, because the covers need no zeroing. */
static void
frame_init(struct frame *f, uint32_t *slot, uint32_t first, uint32_t last, uint32_t around)
{
	f->slot = slot;
	f->pos = first;
	f->last = last;
	f->clean = false;
	f->top = 0;
	f->cover[0].last = last;
	f->cover[0].word = around;
}

/*
 * Opens the group below slot `at` of the innermost frame; allocates the group if necessary.
 * Returns false if all groups are in use.
 */
static bool
sweep_open(struct sweep *s, uint32_t at)
{
	struct frame *f = &s->frame[s->depth], *below = f + 1;
	uint32_t group;
	bool clean;

	frame_fill(s, f, at);
	clean = f->clean || !has_group(f->slot[at]);
	group = clean ? group_get(&s->t->groups) : f->slot[at] & TABLE_V6_VALUE;
	if (group == NO_GROUP)
		return false;
	frame_init(
		below, group_at(&s->t->groups, group), 0, GROUP_ENTRIES - 1, f->cover[f->top].word);
	below->clean = clean;
	below->group = group;
	s->depth++;
	return true;
}

/* Completes the group first, then stores the slot that refers to the group. */
static void
sweep_close(struct sweep *s)
{
	struct frame *below = &s->frame[s->depth--], *f = &s->frame[s->depth];
	uint32_t word = TABLE_V6_GROUP | below->group;

	frame_fill(s, below, GROUP_ENTRIES);
	if (f->slot[f->pos] != word) {
		f->slot[f->pos] = word;
		s->writes++;
	}
	f->pos++;
	frame_leave(f);
}

/* Closes the frames that do not contain `a`. */
static void
sweep_leave(struct sweep *s, struct v6 a)
{
	unsigned common = v6_common(s->at, a);

	while (s->depth > 0 && level_start(s->level + s->depth) > common)
		sweep_close(s);
	s->at = a;
}

static void
sweep_enter(struct sweep *s, struct v6 a, uint32_t entry)
{
	unsigned len = entry >> 24, end = level_of(len);
	struct frame *f;
	uint32_t slot;

	if (entry & SHADOW_V6_WAITING)
		return;
	sweep_leave(s, a);
	while (s->level + s->depth < end) {
		if (!sweep_open(s, slot_of(a, s->level + s->depth))) {
			s->t->shorts++;
			return;
		}
	}
	f = &s->frame[s->depth];
	slot = slot_of(a, end);
	frame_fill(s, f, slot);
	f->top++;
	f->cover[f->top].last = slot + span_of(len) - 1;
	f->cover[f->top].word = word_of(entry & 0xffff, len);
}

/*
 * Paints frame[0] from the shadow. `cursor` is after all prefixes covering the frame; `end` is the
 * frame's last address.
 */
static uint64_t
sweep_run(struct sweep *s, struct shadow_cursor *cursor, struct v6 end)
{
	struct shadow_v6_run run;

	while (shadow_v6_run(cursor, &run)) {
		for (unsigned i = 0; i < run.count; i++) {
			struct v6 a = {run.hi[i], run.lo[i]};

			if (a.hi > end.hi || (a.hi == end.hi && a.lo > end.lo))
				goto done;
			sweep_enter(s, a, run.word[i]);
		}
	}
done:
	while (s->depth > 0)
		sweep_close(s);
	frame_fill(s, &s->frame[0], s->frame[0].last + 1);
	return s->writes;
}

/* The first `len` bits of `p`. */
static struct prefix
prefix_cut(const struct prefix *p, unsigned len)
{
	struct ip_addr addr = {.afi = AFI_IPV6};

	memcpy(addr.b, p->b, sizeof(addr.b));
	return prefix_from_addr(&addr, (uint8_t)len);
}

static struct v6
prefix_last(const struct prefix *p)
{
	struct v6 a = v6_of(p->b);

	if (p->len < 64)
		a.hi |= UINT64_MAX >> p->len;
	if (p->len <= 64)
		a.lo = UINT64_MAX;
	else if (p->len < 128)
		a.lo |= UINT64_MAX >> (p->len - 64);
	return a;
}

static bool
is_painted(const struct shadow *s, const struct prefix *p)
{
	struct shadow_entry e;

	return shadow_get(s, p, &e) && !e.waiting;
}

/* True if the group of `level` on the path to `p` contains a painted entry other than `p`. */
static bool
level_needed(const struct shadow *s, const struct prefix *p, unsigned level)
{
	struct prefix around = prefix_cut(p, level_start(level));
	struct shadow_cursor cursor;
	struct shadow_entry e;

	shadow_v6_seek(s, around.b, (uint8_t)(around.len + 1), &cursor);
	while (shadow_v6_next(&cursor, &e) && prefix_covers(&around, &e.prefix)) {
		if (!e.waiting && !prefix_equal(&e.prefix, p))
			return true;
	}
	return false;
}

/* Counts from the innermost group: an entry in a group needs all outer groups as well. */
unsigned
table_v6_need(const struct shadow *s, const struct prefix *p)
{
	unsigned level = level_of(p->len), count = 0;

	while (level > 0 && !level_needed(s, p, level)) {
		level--;
		count++;
	}
	return count;
}

struct prefix
table_v6_group(const struct prefix *p, unsigned out)
{
	return prefix_cut(p, level_start(level_of(p->len) + 1 - out));
}

/*
 * Follows the path to `p` through existing groups, at most to the level of `p`. Returns the last
 * level.
 */
static unsigned
descend_groups(const struct table_v6 *t, const struct prefix *p, uint32_t *table[LEVELS])
{
	unsigned level = 0, end = level_of(p->len);
	struct v6 a = v6_of(p->b);

	table[0] = t->words;
	while (level < end) {
		uint32_t word = table[level][slot_of(a, level)];

		if (!has_group(word))
			break;
		table[++level] = group_at(&t->groups, word & TABLE_V6_VALUE);
	}
	return level;
}

/* Last level, at most `level`, whose group on the path to `p` is needed by the shadow. */
static unsigned
needed_level(const struct shadow *s, const struct prefix *p, unsigned level)
{
	if (level == 0 || is_painted(s, p))
		return level;
	while (level > 0 && !level_needed(s, p, level))
		level--;
	return level;
}

void
table_v6_release(struct table_v6 *t, const struct shadow *s, const struct prefix *p)
{
	uint32_t *table[LEVELS], *slot;
	unsigned there = descend_groups(t, p, table), needed = needed_level(s, p, there);

	if (needed == there)
		return;
	slot = &table[needed][slot_of(v6_of(p->b), needed)];
	groups_put(t, *slot);
	*slot = 0;
}

/* Word that answers for all of `p`: of `p` itself or of the closest covering entry. */
static uint32_t
word_around(const struct shadow *s, const struct prefix *p)
{
	struct shadow_entry e = {.waiting = true};
	unsigned len = p->len;

	while (shadow_v6_cover(s, p->b, (uint8_t)len, &e)) {
		if (!e.waiting)
			return word_of(e.list.v, e.prefix.len);
		if (e.prefix.len == 0)
			break;
		len = e.prefix.len - 1u;
	}
	return 0;
}

static void
extent_add(struct table_v6 *t, uint32_t first, uint32_t last)
{
	if (first < t->low)
		t->low = first;
	if (last > t->high)
		t->high = last;
}

static void
sweep_init(struct sweep *s, struct table_v6 *t, unsigned level, struct v6 first)
{
	s->t = t;
	s->level = level;
	s->depth = 0;
	s->at = first;
	s->writes = 0;
}

uint64_t
table_v6_paint(struct table_v6 *t, const struct shadow *s, const struct prefix *p)
{
	uint32_t *table[LEVELS], first, span;
	unsigned level = needed_level(s, p, descend_groups(t, p, table));
	/* the slots of `p` if their group exists, else the slot above */
	struct prefix range = level == level_of(p->len) ? *p : prefix_cut(p, level_end(level));
	struct v6 a = v6_of(range.b);
	struct shadow_cursor cursor;
	struct sweep sweep;

	if (p->len == 0)
		return table_v6_rebuild(t, s);
	first = slot_of(a, level);
	span = span_of(range.len);
	if (level == 0)
		extent_add(t, first, first + span - 1);
	sweep_init(&sweep, t, level, a);
	frame_init(&sweep.frame[0], table[level], first, first + span - 1, word_around(s, &range));
	shadow_v6_seek(s, range.b, (uint8_t)(range.len + 1), &cursor);
	return sweep_run(&sweep, &cursor, prefix_last(&range));
}

/* Extends the range of first-level slots to the content of the shadow. */
static void
extent_find(struct table_v6 *t, const struct shadow *s)
{
	struct shadow_cursor cursor;
	struct shadow_v6_run run;

	shadow_seek(s, NULL, &cursor);
	while (shadow_v6_run(&cursor, &run)) {
		for (unsigned i = 0; i < run.count; i++) {
			unsigned len = run.word[i] >> 24;
			uint32_t first = (uint32_t)(run.hi[i] >> 40);

			if (len > 0)
				extent_add(t, first, first + (len < 24 ? span_of(len) : 1) - 1);
		}
	}
}

uint64_t
table_v6_rebuild(struct table_v6 *t, const struct shadow *s)
{
	const struct prefix all = {.afi = AFI_IPV6};
	uint32_t low = t->low, high = t->high;
	struct shadow_cursor cursor;
	struct sweep sweep;

	t->low = SLOTS;
	t->high = 0;
	extent_find(t, s);
	if (t->low < low)
		low = t->low;
	if (t->high > high)
		high = t->high;
	if (low > high)
		return 0;
	groups_reset(&t->groups, TABLE_V6_FIRST_GROUP);
	sweep_init(&sweep, t, 0, (struct v6){0, 0});
	frame_init(&sweep.frame[0], t->words, low, high, 0);
	sweep.frame[0].clean = true;
	shadow_v6_seek(s, all.b, 1, &cursor);
	return sweep_run(&sweep, &cursor, prefix_last(&all));
}

bool
table_v6_read(const uint32_t *words, const uint8_t *addr, struct path_list_id *list, uint8_t *len)
{
	uint32_t word = words[table_v6_index(addr)];

	for (unsigned byte = 3; has_group(word); byte++)
		word = words[(size_t)(word & TABLE_V6_VALUE) * GROUP_ENTRIES + addr[byte]];
	list->v = word & TABLE_V6_VALUE;
	*len = word != 0 ? (uint8_t)((word >> LENGTH_SHIFT) + 1) : 0;
	return word != 0;
}
