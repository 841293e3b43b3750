/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/export/rt_filter.h"

#include "lpm/base/arena.h"
#include "rib/table/vpn.h"

#include <string.h>

int
rt_want_compare(const struct rt_want *a, const struct rt_want *b)
{
	if (a->bits != b->bits)
		return a->bits < b->bits ? -1 : 1;
	if (a->target != b->target)
		return a->target < b->target ? -1 : 1;
	return (a->origin > b->origin) - (a->origin < b->origin);
}

struct rt_filter *
rt_filter_get(struct arena *a, struct rt_filter **list, const struct rt_want *want, unsigned count)
{
	struct rt_filter *made = arena_alloc(a, sizeof(*made) + count * sizeof(struct rt_want));

	if (made == NULL)
		return NULL;
	*made = (struct rt_filter){.refs = 1};
	for (unsigned i = 0; i < count; i++) {
		struct rt_want w = {.target = want[i].target, .bits = want[i].bits};
		const struct rt_want *last = made->count > 0 ? &made->want[made->count - 1] : NULL;

		if (last == NULL || rt_want_compare(last, &w) != 0)
			made->want[made->count++] = w;
	}
	for (struct rt_filter *f = *list; f != NULL; f = f->next) {
		bool same = f->count == made->count;

		for (unsigned i = 0; same && i < f->count; i++)
			same = rt_want_compare(&f->want[i], &made->want[i]) == 0;
		if (!same)
			continue;
		arena_free(a, made);
		f->refs++;
		return f;
	}
	made->next = *list;
	*list = made;
	return made;
}

/* The memberships of one length, from *at on; *at moves behind them. True: one of them covers the target. */
static bool
covers(const struct rt_filter *f, unsigned *at, uint64_t target)
{
	uint8_t bits = f->want[*at].bits;
	uint64_t key = bits == 0 ? 0 : target & UINT64_MAX << (64 - bits);
	unsigned low = *at, high = f->count;

	/* the end of this length, then the target within */
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (f->want[middle].bits == bits)
			low = middle + 1;
		else
			high = middle;
	}
	high = low;
	low = *at;
	*at = high;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (f->want[middle].target == key)
			return true;
		if (f->want[middle].target < key)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool
rt_filter_wants(const struct rt_filter *f, const struct attr_set *attrs)
{
	const uint8_t *p = attr_ext_communities(attrs);

	if (f == NULL || (f->count > 0 && f->want[0].bits == 0))
		return true;
	for (unsigned i = 0; i < attrs->ext_community_count; i++, p += 8) {
		struct ext_community c = ext_community_get(p);

		if ((c.v >> 48 & 0xff) != EXT_ROUTE_TARGET)
			continue;
		for (unsigned at = 0; at < f->count;)
			if (covers(f, &at, c.v))
				return true;
	}
	return false;
}
