/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/walk.h"

#include "rib/shard/shards.h"
#include "lpm/base/monotonic.h"

#define CLOCK_EVERY 64u /* a visit is some 50 ns, reading the clock 20 to 40 */

void
walk_begin(struct walk *w, const struct dest_table *t)
{
	*w = (struct walk){.table = t, .end = dest_limit(t)};
}

void
walk_begin_all(struct walk *w, const struct shards_table *t)
{
	*w = (struct walk){.table = t->at[0], .end = shards_limit(t)};
	if (t->shards->count > 1)
		w->over = t;
}

static inline bool
walk_peek(const struct walk *w, struct dest_id id, struct dest_view *view)
{
	return w->over != NULL ? shards_peek(w->over, id, view) : dest_peek(w->table, id, view);
}

bool
walk_done(const struct walk *w)
{
	return w->next >= w->end;
}

bool
walk_slice(struct walk *w, unsigned max, uint64_t deadline_ns, uint64_t (*now)(void),
	walk_visit *visit, void *ctx)
{
	struct dest_view view;

	for (unsigned n = 0; n < max && w->next < w->end; n++) {
		struct dest_id id = {w->next};

		if (deadline_ns != 0 && n > 0 && n % CLOCK_EVERY == 0 && now() >= deadline_ns)
			break;
		w->next++;
		if (w->skip != NULL && w->skip(ctx, id))
			continue;
		if (walk_peek(w, id, &view) && !visit(ctx, id, &view))
			break;
	}
	return w->next < w->end;
}

uint64_t
walk_clock(void)
{
	return monotonic_ns();
}
