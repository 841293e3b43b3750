/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/vrp.h"

#include "lpm/base/arena.h"
#include "rib/table/attr.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NO_LINK UINT32_MAX
#define DEPTH_MAX 129 /* prefix lengths of IPv6 */

/*
 * Records in the order of compare(): a covering prefix sorts before all prefixes inside. The records
 * of one prefix are a run, sorted by origin. up[i] is the last record of the nearest shorter prefix
 * that covers the prefix of record i. So the links from the last record before a prefix lead to the
 * runs of all prefixes that cover the prefix: at most one for each length.
 */
struct vrps {
	struct arena *arena;
	_Atomic uint32_t refs;
	size_t count, count_v4;
	uint32_t *up;
	struct vrp record[];
};

/* ---- records ---- */

struct vrp
vrp_make(const struct prefix *p, uint8_t max_len, uint32_t asn)
{
	struct vrp v = {.asn = asn, .afi = p->afi, .len = p->len, .max_len = max_len};

	/* runs once for each validated prefix: octet by octet the copy takes 40 ns */
	memcpy(&v.hi, p->b, sizeof(v.hi));
	memcpy(&v.lo, p->b + sizeof(v.hi), sizeof(v.lo));
	v.hi = __builtin_bswap64(v.hi);
	v.lo = __builtin_bswap64(v.lo);
	return v;
}

struct prefix
vrp_prefix(const struct vrp *v)
{
	struct prefix p = {.afi = v->afi, .len = v->len};

	for (unsigned i = 0; i < 8; i++) {
		p.b[i] = (uint8_t)(v->hi >> (56 - 8 * i));
		p.b[8 + i] = (uint8_t)(v->lo >> (56 - 8 * i));
	}
	return p;
}

static int
compare_prefixes(const struct vrp *a, const struct vrp *b)
{
	if (a->afi != b->afi)
		return a->afi < b->afi ? -1 : 1;
	if (a->hi != b->hi)
		return a->hi < b->hi ? -1 : 1;
	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return (int)a->len - (int)b->len;
}

static int
compare(const struct vrp *a, const struct vrp *b)
{
	int c = compare_prefixes(a, b);

	if (c != 0)
		return c;
	if (a->asn != b->asn)
		return a->asn < b->asn ? -1 : 1;
	return (int)a->max_len - (int)b->max_len;
}

static bool
covers(const struct vrp *outer, const struct vrp *p)
{
	uint64_t hi = outer->hi ^ p->hi, lo = outer->lo ^ p->lo;

	if (outer->afi != p->afi || outer->len > p->len)
		return false;
	if (outer->len <= 64)
		return outer->len == 0 || hi >> (64 - outer->len) == 0;
	return hi == 0 && lo >> (128 - outer->len) == 0;
}

/* ---- sets ---- */

static struct vrps *
vrps_alloc(struct arena *a, size_t room)
{
	struct vrps *v = arena_alloc(a, sizeof(*v) + room * sizeof(v->record[0]));

	if (v == NULL)
		return NULL;
	*v = (struct vrps){.arena = a};
	atomic_init(&v->refs, 1);
	return v;
}

struct vrps *
vrps_ref(struct vrps *v)
{
	if (v != NULL)
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void
vrps_unref(struct vrps *v)
{
	/* acq_rel: the thread that frees the set sees the end of all reads */
	if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
		return;
	arena_free(v->arena, v->up);
	arena_free(v->arena, v);
}

/* The links of a set with all records. 0; -ENOMEM: the set is freed. */
static int
vrps_finish(struct vrps *v)
{
	uint32_t chain[DEPTH_MAX + 1];
	unsigned depth = 0;

	v->up = arena_alloc(v->arena, (v->count + 1) * sizeof(*v->up));
	if (v->up == NULL || v->count >= NO_LINK) {
		vrps_unref(v);
		return -ENOMEM;
	}
	for (size_t i = 0; i < v->count; i++) {
		const struct vrp *r = &v->record[i];

		while (depth > 0 && !covers(&v->record[chain[depth - 1]], r))
			depth--;
		if (depth > 0 && compare_prefixes(&v->record[chain[depth - 1]], r) == 0)
			depth--;
		v->up[i] = depth > 0 ? chain[depth - 1] : NO_LINK;
		chain[depth++] = (uint32_t)i;
		v->count_v4 += r->afi == AFI_IPV4;
	}
	return 0;
}

static int
compare_changes(const void *a, const void *b)
{
	return compare(a, b);
}

/* Merges sorted changes. The order of equal records does not matter. 0, -EEXIST, -ENOENT. */
static int
merge(const struct vrps *old, const struct vrp *changes, size_t count, struct vrps *out,
	struct vrp *at)
{
	size_t o = 0, old_count = old != NULL ? old->count : 0;

	for (size_t i = 0; i < count;) {
		const struct vrp *c = &changes[i];
		int present;

		while (o < old_count && compare(&old->record[o], c) < 0)
			out->record[out->count++] = old->record[o++];
		present = o < old_count && compare(&old->record[o], c) == 0;
		o += (size_t)present;
		for (; i < count && compare(&changes[i], c) == 0; i++)
			present += changes[i].withdraw ? -1 : 1;
		if (present < 0 || present > 1) {
			*at = *c;
			return present > 1 ? -EEXIST : -ENOENT;
		}
		if (present == 1) {
			out->record[out->count] = *c;
			out->record[out->count++].withdraw = 0;
		}
	}
	while (o < old_count)
		out->record[out->count++] = old->record[o++];
	return 0;
}

static size_t
announced(const struct vrp *changes, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += changes[i].withdraw == 0;
	return n;
}

int
vrps_apply(struct arena *a, const struct vrps *old, struct vrp *changes, size_t count,
	struct vrps **out, struct vrp *at)
{
	size_t room = announced(changes, count) + (old != NULL ? old->count : 0);
	struct vrps *v;
	int err;

	if (count > 0)
		qsort(changes, count, sizeof(*changes), compare_changes);
	v = vrps_alloc(a, room);
	if (v == NULL)
		return -ENOMEM;
	err = merge(old, changes, count, v, at);
	if (err != 0) {
		vrps_unref(v);
		return err;
	}
	err = vrps_finish(v);
	if (err == 0)
		*out = v;
	return err;
}

/* Records that either set has (`both`), or that only one of the sets has. 0, -ENOMEM. */
static int
combine(struct arena *a, const struct vrps *one, const struct vrps *other, bool both,
	struct vrps **out)
{
	size_t n = one != NULL ? one->count : 0, m = other != NULL ? other->count : 0;
	size_t i = 0, k = 0;
	struct vrps *v = vrps_alloc(a, n + m);
	int err;

	if (v == NULL)
		return -ENOMEM;
	while (i < n || k < m) {
		int c = i == n ? 1 : k == m ? -1 : compare(&one->record[i], &other->record[k]);

		if (c != 0 || both)
			v->record[v->count++] = c <= 0 ? one->record[i] : other->record[k];
		i += c <= 0;
		k += c >= 0;
	}
	err = vrps_finish(v);
	if (err == 0)
		*out = v;
	return err;
}

int
vrps_union(struct arena *a, struct vrps *const *sets, unsigned count, struct vrps **out)
{
	struct vrps *v = count > 0 ? vrps_ref(sets[0]) : NULL, *more;
	int err;

	if (count == 0)
		return combine(a, NULL, NULL, true, out);
	for (unsigned i = 1; i < count; i++) {
		err = combine(a, v, sets[i], true, &more);
		vrps_unref(v);
		if (err != 0)
			return err;
		v = more;
	}
	*out = v;
	return 0;
}

int
vrps_difference(
	struct arena *a, const struct vrps *one, const struct vrps *other, struct vrps **out)
{
	return combine(a, one, other, false, out);
}

size_t
vrps_count(const struct vrps *v, enum afi afi)
{
	if (v == NULL)
		return 0;
	return afi == AFI_NONE ? v->count : afi == AFI_IPV4 ? v->count_v4 : v->count - v->count_v4;
}

size_t
vrps_memory(const struct vrps *v)
{
	return v != NULL ? sizeof(*v) + v->count * (sizeof(v->record[0]) + sizeof(v->up[0])) : 0;
}

const struct vrp *
vrps_at(const struct vrps *v, size_t i)
{
	return &v->record[i];
}

/* ---- validation ---- */

/* The last record with a prefix up to `key`. NO_LINK: none. */
static uint32_t
last_before(const struct vrps *v, const struct vrp *key)
{
	size_t low = 0, high = v->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_prefixes(&v->record[middle], key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? (uint32_t)(low - 1) : NO_LINK;
}

/* The last record of the longest prefix that covers `key`; the links lead to the others. */
static uint32_t
first_covering(const struct vrps *v, const struct vrp *key)
{
	uint32_t i = v != NULL ? last_before(v, key) : NO_LINK;

	while (i != NO_LINK && !covers(&v->record[i], key))
		i = v->up[i];
	return i;
}

/*
 * True if the run that ends with record `last` has a record of that origin for the length. The
 * distance from the end doubles: most runs have one record, and a run of 100,000 takes 17 steps.
 */
static bool
run_matches(const struct vrps *v, uint32_t last, uint32_t origin, uint8_t len)
{
	struct vrp key = v->record[last];
	size_t high = (size_t)last + 1, low = last, step = 1;

	key.asn = origin;
	key.max_len = UINT8_MAX;
	/* records from `high` on sort behind the key */
	while (compare(&v->record[low], &key) > 0) {
		if (low == 0)
			return false;
		high = low;
		step *= 2;
		low = low > step ? low - step : 0;
	}
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (compare(&v->record[middle], &key) <= 0)
			low = middle;
		else
			high = middle;
	}
	/* of the records of an origin, the last has the greatest maximum length */
	return compare_prefixes(&v->record[low], &key) == 0 && v->record[low].asn == origin &&
	       len <= v->record[low].max_len;
}

enum validation
vrps_validate(const struct vrps *v, const struct prefix *p, uint32_t origin)
{
	struct vrp key = vrp_make(p, p->len, origin);
	uint32_t i = first_covering(v, &key);

	if (i == NO_LINK)
		return VALIDATION_NOT_FOUND;
	/* RFC 6811 2; RFC 6483 4: AS 0 matches no route */
	for (; origin != 0 && i != NO_LINK; i = v->up[i])
		if (run_matches(v, i, origin, p->len))
			return VALIDATION_VALID;
	return VALIDATION_INVALID;
}

bool
vrps_cover(const struct vrps *v, const struct prefix *p)
{
	struct vrp key = vrp_make(p, p->len, 0);

	return first_covering(v, &key) != NO_LINK;
}

void
vrps_covering(const struct vrps *v, const struct prefix *p,
	void (*each)(void *ctx, const struct vrp *record), void *ctx)
{
	struct vrp key = vrp_make(p, p->len, 0);

	for (uint32_t i = first_covering(v, &key); i != NO_LINK; i = v->up[i])
		for (size_t k = (size_t)i + 1;
			k > 0 && compare_prefixes(&v->record[k - 1], &v->record[i]) == 0; k--)
			each(ctx, &v->record[k - 1]);
}

uint32_t
vrp_origin(const struct attr_set *a, uint32_t own_asn)
{
	return a->as_path_hops == 0 ? own_asn : a->origin_asn;
}

const char *
validation_text(enum validation v)
{
	static const char *const text[] = {"valid", "invalid", "not-found"};

	return text[v];
}
