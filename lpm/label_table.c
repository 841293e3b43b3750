/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/label_table.h"

#include "lpm/base/arena.h"

#include <errno.h>

static_assert(PATH_LIST_MAX <= 1u << 24, "a path list is the target of a word");
static_assert(sizeof(struct label_page) == 4096, "a page");

struct label_table {
	struct label_reader reader; /* read by workers */
	struct arena *arena;
	struct path_lists *lists;
	struct label_page *none; /* the page of all labels without a page of their own */
	_Atomic uint32_t count, pages;
};

static uint64_t
word_get(const struct label_table *t, uint32_t label)
{
	const struct label_page *page;

	/* acquire: pairs with the release store in page_of */
	page = atomic_load_explicit(&t->reader.page[label / LABEL_PAGE], memory_order_acquire);
	return atomic_load_explicit(&page->word[label % LABEL_PAGE], memory_order_acquire);
}

int
label_table_create(struct arena *a, struct path_lists *lists, struct label_table **out)
{
	struct label_table *t = arena_alloc_aligned(a, CACHE_LINE, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	*t = (struct label_table){.arena = a};
	t->lists = lists;
	t->none = arena_calloc_touched(a, sizeof(*t->none));
	if (t->none == NULL) {
		arena_free(a, t);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < LABEL_PAGES; i++)
		atomic_init(&t->reader.page[i], t->none);
	*out = t;
	return 0;
}

static bool
has_list(uint64_t word)
{
	return word != 0 && label_word_op(word) != LABEL_POP_INSTANCE &&
	       label_word_op(word) != LABEL_REMOVED;
}

/* Releases the reference of a word that readers may still use. */
static void
word_drop(struct label_table *t, uint64_t word) RUNS_ON(role_fib)
{
	if (has_list(word))
		path_list_unref(t->lists, (struct path_list_id){label_word_target(word)});
}

void
label_table_destroy(struct label_table *t)
{
	if (t == NULL)
		return;
	for (unsigned i = 0; i < LABEL_PAGES; i++) {
		struct label_page *page = (struct label_page *)(uintptr_t)atomic_load_explicit(
			&t->reader.page[i], memory_order_relaxed);

		if (page == t->none)
			continue;
		for (unsigned k = 0; k < LABEL_PAGE; k++)
			word_drop(t, atomic_load_explicit(&page->word[k], memory_order_relaxed));
		arena_free(t->arena, page);
	}
	arena_free(t->arena, t->none);
	arena_free(t->arena, t);
}

/* The page of a label, for writing; created if necessary. NULL: out of memory. */
static struct label_page *
page_of(struct label_table *t, uint32_t label)
{
	_Atomic(const struct label_page *) *at = &t->reader.page[label / LABEL_PAGE];
	const struct label_page *page = atomic_load_explicit(at, memory_order_relaxed);
	struct label_page *made;

	if (page != t->none)
		return (struct label_page *)(uintptr_t)page;
	made = arena_calloc_touched(t->arena, sizeof(*made));
	if (made == NULL)
		return NULL;
	/* release: pairs with the acquire in label_lookup */
	atomic_store_explicit(at, made, memory_order_release);
	atomic_store_explicit(&t->pages, atomic_load_explicit(&t->pages, memory_order_relaxed) + 1,
		memory_order_relaxed);
	return made;
}

static void
count_set(struct label_table *t, uint32_t count)
{
	atomic_store_explicit(&t->count, count, memory_order_relaxed);
}

/* The word of an entry, or 0 for an entry out of range. */
static uint64_t
word_of(const struct label_entry *e)
{
	uint64_t op = (uint64_t)e->op << 60;

	switch (e->op) {
	case LABEL_POP_INSTANCE:
		return op | (uint64_t)e->vrf.v << 24;
	case LABEL_REMOVED:
		return op;
	case LABEL_POP_FORWARD:
	case LABEL_SWAP:
	case LABEL_SWAP_STACK:
		if (e->list.v == PATH_LIST_NONE || e->list.v >= PATH_LIST_MAX ||
			e->out >= LABEL_COUNT)
			return 0;
		return op | (uint64_t)e->list.v << 24 | (e->op == LABEL_POP_FORWARD ? 0 : e->out);
	case LABEL_UNKNOWN:
		break;
	}
	return 0;
}

int
label_table_set(struct label_table *t, uint32_t label, const struct label_entry *e)
{
	uint64_t word = word_of(e), old;
	struct label_page *page;

	if (word == 0 || label < LABEL_FIRST || label >= LABEL_COUNT)
		return -EINVAL;
	old = word_get(t, label);
	if (old == word)
		return 0;
	page = page_of(t, label);
	if (page == NULL)
		return -ENOMEM;
	if (has_list(word))
		path_list_ref(t->lists, e->list);
	/* release: pairs with the acquire in label_lookup; the path list is complete */
	atomic_store_explicit(&page->word[label % LABEL_PAGE], word, memory_order_release);
	if (old == 0)
		count_set(t, label_table_count(t) + 1);
	word_drop(t, old);
	return 0;
}

int
label_table_clear(struct label_table *t, uint32_t label)
{
	uint64_t old;

	if (label >= LABEL_COUNT || (old = word_get(t, label)) == 0)
		return -ENOENT;
	/* the page exists, because the label has an action */
	atomic_store_explicit(
		&page_of(t, label)->word[label % LABEL_PAGE], 0, memory_order_release);
	count_set(t, label_table_count(t) - 1);
	word_drop(t, old);
	return 0;
}

bool
label_table_get(const struct label_table *t, uint32_t label, struct label_entry *out)
{
	uint64_t word = label < LABEL_COUNT ? word_get(t, label) : 0;

	if (word == 0)
		return false;
	*out = (struct label_entry){.op = label_word_op(word), .out = label_word_out(word)};
	if (has_list(word))
		out->list.v = label_word_target(word);
	else if (out->op == LABEL_POP_INSTANCE)
		out->vrf.v = (uint16_t)label_word_target(word);
	return true;
}

uint32_t
label_table_next(const struct label_table *t, uint32_t after)
{
	for (uint32_t label = after + 1; label < LABEL_COUNT;) {
		if (word_get(t, label) != 0)
			return label;
		label++;
		while (label < LABEL_COUNT && label % LABEL_PAGE == 0 &&
			atomic_load_explicit(&t->reader.page[label / LABEL_PAGE],
				memory_order_relaxed) == t->none)
			label += LABEL_PAGE;
	}
	return LABEL_COUNT;
}

uint32_t
label_table_count(const struct label_table *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

size_t
label_table_bytes(const struct label_table *t)
{
	uint32_t pages = atomic_load_explicit(&t->pages, memory_order_relaxed);

	return sizeof(*t) + (1 + (size_t)pages) * sizeof(struct label_page);
}

const struct label_reader *
label_reader(const struct label_table *t)
{
	return &t->reader;
}
