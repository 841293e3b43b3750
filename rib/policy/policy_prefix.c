/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prefix lists. The entries (prefix, ge, le) of a list are painted once onto the address space:
 * prefixes nest, so their edges divide the space into intervals, and inside an interval the answer
 * depends only on the length. A match searches the interval (a table by leading bits, then a few
 * bisections) and tests one bit. The first matching entry decides, for any order of entries.
 */
#include "rib/policy/policy_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AXES 2 /* IPv4, IPv6 */

struct entry {
	struct prefix prefix;
	uint32_t order; /* position in the list: the lowest decides */
	uint8_t ge, le;
	bool permit;
};

/* Bit n: a prefix of length n that starts in the interval is permitted. */
struct lengths {
	uint64_t w[3];
};

/* Addresses are left-aligned: an IPv4 address has the first four bytes. */
struct axis {
	unsigned shift; /* key >> shift is the bucket */
	uint32_t *bucket; /* for each bucket: the interval at its start; one more at the end */
	uint64_t *high; /* first address of each interval: upper 64 bits */
	uint64_t *low; /* lower 64 bits; NULL if all are 0 (always for IPv4) */
	uint64_t *permit; /* `words` for each interval: struct lengths without its unused part */
	uint32_t count; /* number of intervals; 0: nothing matches */
	unsigned words;
	/*
	 * lengths permitted in any interval; for most lists only a few, and other lengths
	 * need no search
	 */
	struct lengths any;
};

struct policy_prefix_list {
	uint32_t refs;
	struct axis axis[AXES];
	struct entry *entries; /* until sealed */
	uint32_t count, size;
};

struct key {
	uint64_t high, low;
};

static struct key
key_load(const uint8_t *b)
{
	struct key k;

	memcpy(&k.high, b, 8);
	memcpy(&k.low, b + 8, 8);
	k.high = __builtin_bswap64(k.high);
	k.low = __builtin_bswap64(k.low);
	return k;
}

static int
key_compare(struct key a, struct key b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return a.low < b.low ? -1 : a.low > b.low;
}

/* First address after `p`. Returns false if `p` extends to the end of the address space. */
static bool
key_behind(const struct prefix *p, struct key *out)
{
	struct key k = key_load(p->b), step = {0, 0};

	if (p->len == 0)
		return false;
	if (p->len <= 64)
		step.high = 1ull << (64 - p->len);
	else
		step.low = 1ull << (128 - p->len);
	out->low = k.low + step.low;
	out->high = k.high + step.high + (out->low < k.low);
	return key_compare(*out, k) > 0;
}

int
policy_prefix_list_create(struct policy_prefix_list **out)
{
	struct policy_prefix_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->refs = 1;
	*out = l;
	return 0;
}

int
policy_prefix_list_add(
	struct policy_prefix_list *l, bool permit, const struct prefix *p, uint8_t ge, uint8_t le)
{
	if (ge < p->len || le < ge || le > prefix_max_len(p->afi))
		return -EINVAL;
	if (l->count == l->size) {
		uint32_t size = l->size ? l->size * 2 : 16;
		struct entry *grown = realloc(l->entries, size * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->entries = grown;
		l->size = size;
	}
	l->entries[l->count] = (struct entry){*p, l->count, ge, le, permit};
	l->count++;
	return 0;
}

/* Sorts covering prefixes first, so a stack of open prefixes suffices. */
static int
entry_compare(const void *a, const void *b)
{
	return prefix_compare(
		&((const struct entry *)a)->prefix, &((const struct entry *)b)->prefix);
}

static int
edge_compare(const void *a, const void *b)
{
	return key_compare(*(const struct key *)a, *(const struct key *)b);
}

/* Lists of generators are in order. */
static void
sort(void *base, size_t count, size_t size, int (*compare)(const void *a, const void *b))
{
	const char *p = base;
	size_t i = 1;

	while (i < count && compare(p + (i - 1) * size, p + i * size) <= 0)
		i++;
	if (i < count)
		qsort(base, count, size, compare);
}

/*
 * Addresses where the answer may change: 0, each prefix's start, and the address after its end;
 * sorted, without duplicates.
 */
static uint32_t
edges_of(const struct entry *entries, uint32_t count, struct key *edges)
{
	uint32_t n = 0, kept = 0;

	edges[n++] = (struct key){0, 0};
	for (uint32_t i = 0; i < count; i++) {
		edges[n++] = key_load(entries[i].prefix.b);
		if (key_behind(&entries[i].prefix, &edges[n]))
			n++;
	}
	sort(edges, n, sizeof(*edges), edge_compare);
	for (uint32_t i = 0; i < n; i++)
		if (!kept || key_compare(edges[kept - 1], edges[i]))
			edges[kept++] = edges[i];
	return kept;
}

/* Lengths permitted by the entries open here. */
static struct lengths
lengths_of(const struct entry *const *open, uint32_t count)
{
	uint32_t decides[129];
	struct lengths permit = {{0}};

	memset(decides, 0xff, sizeof(decides));
	for (uint32_t i = 0; i < count; i++)
		for (unsigned len = open[i]->ge; len <= open[i]->le; len++)
			if (open[i]->order < decides[len]) {
				decides[len] = open[i]->order;
				permit.w[len / 64] &= ~(1ull << (len % 64));
				permit.w[len / 64] |= (uint64_t)open[i]->permit << (len % 64);
			}
	return permit;
}

static uint32_t
close_before(const struct entry **open, uint32_t depth, struct key edge)
{
	struct key behind;

	while (depth > 0 && key_behind(&open[depth - 1]->prefix, &behind) &&
		key_compare(behind, edge) <= 0)
		depth--;
	return depth;
}

/* Merges intervals with equal answers. */
static void
paint(struct axis *x, const struct entry *entries, uint32_t count, const struct key *edges,
	uint32_t edge_count, const struct entry **open)
{
	uint32_t next = 0, depth = 0;

	for (uint32_t e = 0; e < edge_count; e++) {
		depth = close_before(open, depth, edges[e]);
		while (next < count && !key_compare(key_load(entries[next].prefix.b), edges[e]))
			open[depth++] = &entries[next++];
		struct lengths permit = lengths_of(open, depth);
		uint64_t *here = x->permit + (size_t)x->count * x->words;
		if (x->count && !memcmp(here - x->words, &permit, x->words * sizeof(*here)))
			continue;
		memcpy(here, &permit, x->words * sizeof(*here));
		for (unsigned w = 0; w < x->words; w++)
			x->any.w[w] |= permit.w[w];
		x->high[x->count] = edges[e].high;
		x->low[x->count++] = edges[e].low;
	}
}

static int
axis_index(struct axis *x)
{
	unsigned bits = 1;
	bool low_used = false;

	/*
	 * About one interval per bucket; 16 bits are 256 KB, the limit for the cache footprint of
	 * a list.
	 */
	while (bits < 16 && 1u << bits < x->count)
		bits++;
	x->shift = 64 - bits;
	x->bucket = malloc(((1u << bits) + 1) * sizeof(*x->bucket));
	if (!x->bucket)
		return -ENOMEM;
	for (uint32_t b = 0, i = 0; b < 1u << bits; b++) {
		while (i + 1 < x->count &&
			(x->high[i + 1] < (uint64_t)b << x->shift ||
				(x->high[i + 1] == (uint64_t)b << x->shift && x->low[i + 1] == 0)))
			i++;
		x->bucket[b] = i;
	}
	x->bucket[1u << bits] = x->count - 1;
	for (uint32_t i = 0; i < x->count; i++)
		low_used |= x->low[i] != 0;
	if (!low_used) {
		free(x->low);
		x->low = NULL;
	}
	return 0;
}

/* Neighbours of one answer have merged. Without memory the array stays. */
static uint64_t *
shrunk(uint64_t *array, size_t count)
{
	uint64_t *smaller = array != NULL ? realloc(array, count * sizeof(*array)) : NULL;

	return smaller != NULL ? smaller : array;
}

static int
axis_build(struct axis *x, const struct entry *entries, uint32_t count)
{
	size_t most = 2 * (size_t)count + 1;
	struct key *edges = malloc(most * sizeof(*edges));
	const struct entry **open = malloc(((size_t)count + 1) * sizeof(const struct entry *));
	int err = -ENOMEM;

	x->high = malloc(most * sizeof(*x->high));
	x->low = malloc(most * sizeof(*x->low));
	x->words = entries[0].prefix.afi == AFI_IPV6 ? 3 : 1;
	x->permit = malloc(most * x->words * sizeof(*x->permit));
	if (edges && open && x->high && x->low && x->permit) {
		paint(x, entries, count, edges, edges_of(entries, count, edges), open);
		err = axis_index(x);
		x->high = shrunk(x->high, x->count);
		x->low = shrunk(x->low, x->count);
		x->permit = shrunk(x->permit, (size_t)x->count * x->words);
	}
	free(edges);
	free(open);
	return err;
}

int
policy_prefix_list_seal(struct policy_prefix_list *l)
{
	uint32_t v4 = 0;
	int err = 0;

	sort(l->entries, l->count, sizeof(*l->entries), entry_compare);
	while (v4 < l->count && l->entries[v4].prefix.afi == AFI_IPV4)
		v4++;
	if (v4)
		err = axis_build(&l->axis[0], l->entries, v4);
	if (!err && v4 < l->count)
		err = axis_build(&l->axis[1], l->entries + v4, l->count - v4);
	free(l->entries);
	l->entries = NULL;
	l->count = l->size = 0;
	return err;
}

void
policy_prefix_list_unref(struct policy_prefix_list *l)
{
	if (!l || --l->refs)
		return;
	for (unsigned i = 0; i < AXES; i++) {
		free(l->axis[i].bucket);
		free(l->axis[i].high);
		free(l->axis[i].low);
		free(l->axis[i].permit);
	}
	free(l->entries);
	free(l);
}

struct policy_prefix_list *
policy_prefix_list_ref(struct policy_prefix_list *l)
{
	l->refs++;
	return l;
}

bool
policy_prefix_list_match(const struct policy_prefix_list *l, const struct prefix *p)
{
	const struct axis *x = &l->axis[p->afi == AFI_IPV6];

	if ((x->any.w[p->len / 64] >> (p->len % 64) & 1) == 0)
		return false;
	struct key k = key_load(p->b);
	uint32_t first = x->bucket[k.high >> x->shift], last = x->bucket[(k.high >> x->shift) + 1];
	while (first < last) {
		uint32_t middle = first + (last - first + 1) / 2;
		uint64_t low = x->low ? x->low[middle] : 0;
		if (x->high[middle] < k.high || (x->high[middle] == k.high && low <= k.low))
			first = middle;
		else
			last = middle - 1;
	}
	return x->permit[(size_t)first * x->words + p->len / 64] >> (p->len % 64) & 1;
}
