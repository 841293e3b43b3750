/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/table_v4.h"

#include "lpm/base/arena.h"
#include "lpm/inspect.h"
#include "lpm/shadow.h"
#include "lpm/table_impl.h"

#include <errno.h>
#include <rte_lpm.h>
#include <string.h>

/*
 * The layout read by the lookup inlines of the installed DPDK. The masks are those of the inlines.
 * The depth in the upper six bits is read only here (test_table_v4 compares with the bit-fields).
 */
static_assert(offsetof(struct rte_lpm, tbl24) == 0, "tbl24 is inline and first");
static_assert(
	offsetof(struct rte_lpm, tbl8) == sizeof(uint32_t) << 24, "tbl8 is a pointer behind it");
static_assert(sizeof(struct rte_lpm_tbl_entry) == sizeof(uint32_t), "an entry is one word");
static_assert(RTE_LPM_LOOKUP_SUCCESS == 1u << 24, "bits 0..23 are the next hop, 24 is `valid`");
static_assert(RTE_LPM_VALID_EXT_ENTRY_BITMASK == 3u << 24, "bit 25 is `valid_group`");
static_assert(RTE_LPM_TBL8_GROUP_NUM_ENTRIES == 256, "a group is one /24");
static_assert(PATH_LIST_MAX <= 1u << 24, "a path list id is the next hop");
static_assert(PATH_LIST_MAX - 1 <= TABLE_V4_LOOK, "all but the last one are answers of 16 bits");
static_assert(PATH_LIST_NONE == 0, "an entry without an answer is 0, in both widths");

#define SLOTS (1u << 24)
#define VALID (1u << 24)
#define VALID_GROUP (1u << 25)
#define DEPTH_SHIFT 26
#define VALUE_MASK ((1u << 24) - 1)

/* Entries are written as whole words: one store per entry, the access size of DPDK's inlines. */
struct table_v4 {
	struct arena *arena;
	uint32_t *tbl24;
	uint16_t *answers;
	struct groups groups; /* base: tbl8 */
	uint64_t shorts;
	struct rte_lpm *lpm;
	struct table_map map;
};

/* State of painting. Entries come in order; slots before `pos` are done. */
struct sweep {
	struct table_v4 *t;
	bool clean; /* no slot refers to a group: overwrite without reading */
	uint32_t pos;
	unsigned top;
	struct {
		uint32_t last; /* last slot */
		uint32_t word;
	} level[26]; /* nested prefixes around `pos`, outermost first */
	uint64_t writes;
	bool group_open;
	bool group_used;
	uint32_t group_slot;
	uint32_t group[GROUP_ENTRIES];
};

static size_t
lpm_bytes(void)
{
	return (sizeof(struct rte_lpm) + 4095) & ~(size_t)4095;
}

static size_t
first_level_bytes(void)
{
	return lpm_bytes() + SLOTS * sizeof(uint16_t);
}

size_t
table_v4_bytes(uint32_t groups)
{
	size_t bytes = first_level_bytes() + (size_t)groups * GROUP_ENTRIES * sizeof(uint32_t);

	return table_map_bytes(bytes);
}

int
table_v4_create(struct arena *a, uint32_t groups, bool huge, struct table_v4 **out)
{
	size_t bytes = table_v4_bytes(groups);
	struct table_v4 *t;

	if (groups > TABLE_V4_GROUPS_MAX)
		return -ENOMEM;
	t = arena_calloc(a, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->arena = a;
	if (table_map_create(&t->map, a, bytes, first_level_bytes(), huge) != 0) {
		arena_free(a, t);
		return -ENOMEM;
	}
	t->lpm = t->map.at;
	t->tbl24 = (uint32_t *)(void *)t->lpm;
	t->answers = (uint16_t *)(void *)((char *)t->lpm + lpm_bytes());
	t->groups.base = (uint32_t *)(void *)((char *)t->lpm + first_level_bytes());
	t->lpm->tbl8 = (struct rte_lpm_tbl_entry *)(void *)t->groups.base;
	t->groups.map = &t->map;
	t->groups.end = groups;
	groups_reset(&t->groups, 0);
	*out = t;
	return 0;
}

void
table_v4_destroy(struct table_v4 *t)
{
	if (t == NULL)
		return;
	table_map_destroy(&t->map);
	arena_free(t->arena, t);
}

struct rte_lpm *
table_v4_lpm(const struct table_v4 *t)
{
	return t->lpm;
}

const uint16_t *
table_v4_answers(const struct table_v4 *t)
{
	return t->answers;
}

uint32_t
table_v4_groups_used(const struct table_v4 *t)
{
	return t->groups.used;
}

uint64_t
table_v4_short(const struct table_v4 *t)
{
	return t->shorts;
}

static bool
has_group(uint32_t word)
{
	return (word & RTE_LPM_VALID_EXT_ENTRY_BITMASK) == RTE_LPM_VALID_EXT_ENTRY_BITMASK;
}

/* Table word of a packed entry. 0 for 0/0, which is `miss` in the generation. */
static uint32_t
word_of(uint64_t entry)
{
	if (shadow_v4_len(entry) == 0)
		return 0;
	return shadow_v4_list(entry) | VALID | (uint32_t)shadow_v4_len(entry) << DEPTH_SHIFT;
}

/* 16-bit answer for a word of tbl24. */
static uint16_t
answer_of(uint32_t word)
{
	return (word & VALID_GROUP) != 0 ? TABLE_V4_LOOK : (uint16_t)word;
}

static void
store(struct table_v4 *t, uint32_t slot, uint32_t word)
{
	t->tbl24[slot] = word;
	t->answers[slot] = answer_of(word);
}

/* Fills slots without reading groups. Branch-free, so the compiler can vectorize. */
static uint64_t
fill_clean(struct table_v4 *t, uint32_t first, uint32_t count, uint32_t word)
{
	uint32_t *restrict p = &t->tbl24[first], writes = 0;
	uint16_t *restrict answer = &t->answers[first];

	if (count == 1) {
		writes = *p != word;
		store(t, first, word);
		return writes;
	}
	for (uint32_t i = 0; i < count; i++) {
		writes += p[i] != word;
		p[i] = word;
	}
	for (uint32_t i = 0; i < count; i++)
		answer[i] = answer_of(word);
	return writes;
}

static uint64_t
fill(struct table_v4 *t, uint32_t first, uint32_t count, uint32_t word)
{
	uint64_t writes = 0;

	for (uint32_t slot = first; slot < first + count; slot++) {
		uint32_t old = t->tbl24[slot];

		if (old == word)
			continue;
		store(t, slot, word);
		writes++;
		if (has_group(old))
			group_put(&t->groups, old & VALUE_MASK);
	}
	return writes;
}

static void
sweep_leave(struct sweep *s)
{
	while (s->top > 0 && s->level[s->top].last < s->pos)
		s->top--;
}

/* Fills the slots from `pos` up to, not including, `to` from the covering prefixes. */
static void
sweep_fill(struct sweep *s, uint32_t to)
{
	while (s->pos < to) {
		uint32_t last = s->level[s->top].last;
		uint32_t count = (last < to ? last + 1 : to) - s->pos;

		if (s->clean)
			s->writes += fill_clean(s->t, s->pos, count, s->level[s->top].word);
		else
			s->writes += fill(s->t, s->pos, count, s->level[s->top].word);
		s->pos += count;
		sweep_leave(s);
	}
}

/* Stores the group first, then the slot that refers to the group. */
static void
group_store(struct sweep *s)
{
	uint32_t old = s->t->tbl24[s->group_slot], group, *p;

	if (!s->clean && has_group(old))
		group = old & VALUE_MASK;
	else
		group = group_get(&s->t->groups);
	if (group == NO_GROUP) {
		s->t->shorts++;
		return;
	}
	p = group_at(&s->t->groups, group);
	for (unsigned i = 0; i < GROUP_ENTRIES; i++) {
		s->writes += p[i] != s->group[i];
		p[i] = s->group[i];
	}
	if (old != (group | VALID | VALID_GROUP)) {
		store(s->t, s->group_slot, group | VALID | VALID_GROUP);
		s->writes++;
	}
	s->pos = s->group_slot + 1;
	sweep_leave(s);
}

/* If no longer prefix was painted, the slot is left to sweep_fill(). */
static void
group_close(struct sweep *s)
{
	if (s->group_open && s->group_used)
		group_store(s);
	s->group_open = false;
}

static void
group_enter(struct sweep *s, uint64_t entry)
{
	uint32_t slot = shadow_v4_addr(entry) >> 8;
	uint32_t first = shadow_v4_addr(entry) & 0xff, count = 1u << (32 - shadow_v4_len(entry));

	if (!s->group_open || s->group_slot != slot) {
		uint32_t around;

		group_close(s);
		sweep_fill(s, slot);
		/*
		 * like rte_lpm, all entries of a used group have valid_group set, with or without
		 * an answer
		 */
		around = s->level[s->top].word | VALID_GROUP;
		for (unsigned i = 0; i < GROUP_ENTRIES; i++)
			s->group[i] = around;
		s->group_slot = slot;
		s->group_open = true;
		s->group_used = false;
	}
	if (entry & SHADOW_V4_WAITING)
		return;
	s->group_used = true;
	/* covering prefixes come first, so the last word is the longest match */
	for (uint32_t i = first; i < first + count; i++)
		s->group[i] = word_of(entry) | VALID_GROUP;
}

static void
sweep_enter(struct sweep *s, uint64_t entry)
{
	uint32_t slot = shadow_v4_addr(entry) >> 8;
	unsigned len = shadow_v4_len(entry);

	if (len > 24) {
		group_enter(s, entry);
		return;
	}
	group_close(s);
	sweep_fill(s, slot);
	s->top++;
	s->level[s->top].last = slot + (1u << (24 - len)) - 1;
	s->level[s->top].word = word_of(entry);
}

/* Initializes single fields, because the 1 KB buffer of the group needs no zeroing. */
static void
sweep_init(struct sweep *s, struct table_v4 *t, uint32_t first, uint32_t last)
{
	s->t = t;
	s->clean = false;
	s->pos = first;
	s->top = 0;
	s->level[0].last = last;
	s->level[0].word = 0;
	s->writes = 0;
	s->group_open = false;
}

/*
 * Paints the slots of the outermost level from the shadow. `cursor` is after all prefixes covering
 * these slots.
 */
static uint64_t
sweep_run(struct sweep *s, struct shadow_cursor *cursor)
{
	uint32_t last = s->level[0].last;
	const uint64_t *entry;
	unsigned count;

	while ((count = shadow_v4_run(cursor, &entry)) > 0) {
		for (unsigned i = 0; i < count; i++) {
			if (shadow_v4_addr(entry[i]) >> 8 > last)
				goto done;
			sweep_enter(s, entry[i]);
		}
	}
done:
	group_close(s);
	sweep_fill(s, last + 1);
	return s->writes;
}

void
table_v4_release(struct table_v4 *t, const struct shadow *s, uint32_t addr)
{
	uint32_t slot = addr >> 8, old = t->tbl24[slot];
	struct shadow_cursor cursor;
	const uint64_t *entry;

	if (!has_group(old))
		return;
	shadow_v4_seek(s, slot << 8, 25, &cursor);
	/* either all longer prefixes of a /24 wait, or none */
	if (shadow_v4_run(&cursor, &entry) > 0 && shadow_v4_addr(*entry) >> 8 == slot &&
		!(*entry & SHADOW_V4_WAITING))
		return;
	store(t, slot, 0);
	group_put(&t->groups, old & VALUE_MASK);
}

/* The range painted for a prefix: at least a /24. */
static uint64_t
painted_key(uint64_t word)
{
	uint8_t len = shadow_v4_len(word);

	return len > 24 ? shadow_v4_key(shadow_v4_addr(word) & v4_mask(24), 24)
			: shadow_v4_key(shadow_v4_addr(word), len);
}

void
table_v4_paint_begin(const struct table_v4 *t, const struct shadow *s, unsigned n,
	const uint64_t *word, uint64_t *key, struct shadow_cursor *c)
{
	for (unsigned i = 0; i < n; i++) {
		key[i] = painted_key(word[i]);
		__builtin_prefetch(&t->tbl24[shadow_v4_addr(key[i]) >> 8], 1);
		__builtin_prefetch(&t->answers[shadow_v4_addr(key[i]) >> 8], 1);
	}
	shadow_v4_seek_begin(s, n, key, c);
}

uint64_t
table_v4_paint_end(
	struct table_v4 *t, const struct shadow *s, uint64_t key, struct shadow_cursor *c)
{
	uint32_t first = shadow_v4_addr(key);
	uint8_t bits = shadow_v4_len(key);
	const uint64_t *entry;
	struct sweep sweep;
	uint64_t around;
	bool found;

	sweep_init(&sweep, t, first >> 8, (first | ~v4_mask(bits)) >> 8);
	shadow_v4_seek_end(key, c);
	entry = shadow_v4_peek(c);
	if (entry != NULL && shadow_v4_addr(*entry) == first && shadow_v4_len(*entry) == bits) {
		/* the prefix itself is set */
		around = *entry;
		c->at++;
		found = true;
	} else {
		around = shadow_v4_cover(s, first, bits, &found);
	}
	sweep.level[0].word = found ? word_of(around) : 0;
	return sweep_run(&sweep, c);
}

uint64_t
table_v4_paint(struct table_v4 *t, const struct shadow *s, uint32_t addr, uint8_t len)
{
	uint64_t word = shadow_v4_key(addr & v4_mask(len), len), key;
	struct shadow_cursor c;

	table_v4_paint_begin(t, s, 1, &word, &key, &c);
	return table_v4_paint_end(t, s, key, &c);
}

uint64_t
table_v4_rebuild(struct table_v4 *t, const struct shadow *s)
{
	struct shadow_cursor cursor;
	struct sweep sweep;

	groups_reset(&t->groups, 0);
	sweep_init(&sweep, t, 0, SLOTS - 1);
	sweep.clean = true;
	shadow_v4_seek(s, 0, 1, &cursor);
	return sweep_run(&sweep, &cursor);
}

bool
table_v4_read(const struct rte_lpm *lpm, const uint16_t *answers, uint32_t addr,
	struct path_list_id *list, uint8_t *len)
{
	const uint32_t *tbl24 = (const uint32_t *)(const void *)lpm->tbl24;
	const uint32_t *tbl8 = (const uint32_t *)(const void *)lpm->tbl8;
	uint32_t word = tbl24[addr >> 8];
	uint16_t answer = answers[addr >> 8];

	if (answer == TABLE_V4_LOOK && has_group(word))
		word = tbl8[(size_t)(word & VALUE_MASK) * GROUP_ENTRIES + (addr & 0xff)];
	*len = (uint8_t)(word >> DEPTH_SHIFT);
	if (answer != TABLE_V4_LOOK) {
		list->v = answer;
		return answer != PATH_LIST_NONE;
	}
	list->v = word & VALUE_MASK;
	return (word & VALID) != 0;
}
