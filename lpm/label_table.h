/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The actions for incoming MPLS labels (RFC 3031 3.11, the incoming label map; labels of RFC 3032).
 * A label pops to a lookup in a VPN instance, pops and leaves by a path list, or is swapped.
 *
 * Writer: the fib thread; a change is one release store of a 64-bit word, outside of batches.
 * Readers: workers and main, registered and online in the workers' QSBR. A word read may be used
 * until the reader's next quiescent report: path_list_unref() keeps the id of a replaced list
 * for a grace period.
 *
 * The words lie in pages of 4 KiB, which are created with the first label inside and stay until the
 * table is destroyed: 24 KiB without labels, 8 MiB with all. All pages without labels are one page
 * of zeros, so a lookup has no branch, and a flood of unknown labels causes no page fault.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/bounds.h"
#include "lpm/path_list.h"

#include <stdatomic.h>

struct arena;
struct label_table;

#define LABEL_COUNT (1u << 20)
#define LABEL_FIRST 16u /* RFC 3032 2.1: labels 0 to 15 are reserved, and refused here */
#define LABEL_PAGE 512u
#define LABEL_PAGES (LABEL_COUNT / LABEL_PAGE)

enum label_op {
	LABEL_UNKNOWN, /* drop */
	LABEL_POP_INSTANCE, /* remove the label, look up the packet in the instance */
	LABEL_POP_FORWARD, /* remove the label, send by the path list */
	LABEL_SWAP, /* replace the label by `out`, send by the path list */
	LABEL_SWAP_STACK, /* replace the label by the labels of stack number `out`, send likewise */
	LABEL_REMOVED, /* the instance of the label was removed: drop, under a reason of its own */
};

struct label_entry {
	enum label_op op;
	struct vrf_id vrf; /* LABEL_POP_INSTANCE */
	struct path_list_id list; /* all but LABEL_POP_INSTANCE and LABEL_REMOVED */
	uint32_t out; /* LABEL_SWAP: a label; LABEL_SWAP_STACK: a number of the caller; 20 bits */
};

struct label_page {
	_Atomic uint64_t word[LABEL_PAGE];
};

/* The reader's view. Public for inlined lookups; see label_lookup(). */
struct label_reader {
	_Atomic(const struct label_page *) page[LABEL_PAGES];
};

/* The table takes references on the path lists of its entries. Returns 0 or -ENOMEM. */
int label_table_create(struct arena *a, struct path_lists *lists, struct label_table **out);
/* After the readers have stopped. */
void label_table_destroy(struct label_table *t) RUNS_ON(role_fib);
/*
 * Sets the action of a label. Returns 0; -EINVAL: a reserved label, LABEL_UNKNOWN, or a value out
 * of range; -ENOMEM (nothing changed; not for a label that has an action).
 */
int label_table_set(struct label_table *t, uint32_t label, const struct label_entry *e)
	RUNS_ON(role_fib);
/* Removes the action of a label. Returns 0 or -ENOENT. */
int label_table_clear(struct label_table *t, uint32_t label) RUNS_ON(role_fib);
/* Reads the action of a label. Returns false without an action. The fib thread, or a reader. */
bool label_table_get(const struct label_table *t, uint32_t label, struct label_entry *out);
/* Next label above `after` with an action; returns LABEL_COUNT at the end. Start with 0. */
uint32_t label_table_next(const struct label_table *t, uint32_t after);
/* Numbers of labels with an action, and of bytes. Any thread. */
uint32_t label_table_count(const struct label_table *t);
size_t label_table_bytes(const struct label_table *t);
const struct label_reader *label_reader(const struct label_table *t);

/* A word: op in bits 63..60, VRF or path list in 47..24, `out` in 19..0. */
static inline enum label_op
label_word_op(uint64_t word)
{
	return (enum label_op)(word >> 60);
}

static inline uint32_t
label_word_target(uint64_t word)
{
	return (uint32_t)(word >> 24) & 0xffffff;
}

static inline uint32_t
label_word_out(uint64_t word)
{
	return (uint32_t)word & (LABEL_COUNT - 1);
}

/*
 * Words of `n` labels of 20 bits; 0 for unknown labels. First all pages, then all words, so cache
 * misses overlap.
 */
static inline __attribute__((always_inline)) void
label_lookup(const struct label_reader *r, const struct bounds *bounds, const uint32_t *label,
	uint64_t *word, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		/* acquire: pairs with the release store in label_table_set */
		const struct label_page *page = bounds_or_nothing(
			bounds, atomic_load_explicit(
					&r->page[label[i] / LABEL_PAGE], memory_order_acquire));

		word[i] = (uint64_t)(uintptr_t)&page->word[label[i] % LABEL_PAGE];
		__builtin_prefetch(&page->word[label[i] % LABEL_PAGE]);
	}
	for (unsigned i = 0; i < n; i++)
		/* acquire: pairs with the release store in label_table_set */
		word[i] = atomic_load_explicit(
			(const _Atomic uint64_t *)(uintptr_t)word[i], memory_order_acquire);
}
