/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labels of VPN routes that were advertised with our next hop (RFC 4364 10 b): the worker swaps our
 * label for the label of the edge. All labels of an edge share one path list, because the label
 * table has the outgoing label. A moved underlay is one store for each edge, as for routes.
 */
#include "lpm/base/arena.h"
#include "lpm/label_table.h"
#include "rib/feed/fib_feed_impl.h"
#include "rib/table/vpn.h"

#include <errno.h>

#define SLICE_BUCKETS 256u /* between two reads of the clock */

static struct swapped **
swapped_at(struct fib_feed *f, uint32_t label)
{
	struct swapped **at = &f->swapped.bucket[label % SWAPPED_BUCKETS];

	while (*at != NULL && (*at)->label != label)
		at = &(*at)->next;
	return at;
}

/* Writes the action of the label for the present way to the edge. 0; -ENOMEM, -ENOSPC. */
static int
swapped_write(struct fib_feed *f, struct swapped *w) RUNS_ON(role_fib)
{
	bool pops = w->received == MPLS_IMPLICIT_NULL;
	struct label_entry entry = {
		.op = pops ? LABEL_POP_FORWARD : LABEL_SWAP, .out = pops ? 0 : w->received};
	struct path path = {.label = LABEL_NONE};
	struct edge *e = fib_edge_to(f, VRF_DEFAULT, &w->next_hop);
	int err;

	if (e == NULL)
		return -ENOMEM;
	path.next_hop = e->next_hop;
	err = path_list_get(f->path_lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &entry.list);
	if (err != 0)
		return err;
	err = label_table_set(fib_labels(f->config.fib), w->label, &entry);
	path_list_unref(f->path_lists, entry.list);
	if (err != 0 || w->edge == e)
		return err;
	if (w->edge != NULL)
		w->edge->users--;
	w->edge = e;
	e->users++;
	return 0;
}

static void
swapped_remove(struct fib_feed *f, uint32_t label) RUNS_ON(role_fib)
{
	struct swapped **at = f->swapped.bucket != NULL ? swapped_at(f, label) : NULL;
	struct swapped *w = at != NULL ? *at : NULL;

	if (w == NULL)
		return;
	(void)label_table_clear(fib_labels(f->config.fib), label);
	w->edge->users--;
	*at = w->next;
	f->swapped.count--;
	arena_free(f->config.arena, w);
}

static int
swapped_add(struct fib_feed *f, const struct swap_order *o) RUNS_ON(role_fib)
{
	struct arena *a = f->config.arena;
	struct swapped *w, **at;
	int err;

	if (f->swapped.bucket == NULL)
		f->swapped.bucket = arena_calloc(a, SWAPPED_BUCKETS * sizeof(struct swapped *));
	if (f->swapped.bucket == NULL)
		return -ENOMEM;
	at = swapped_at(f, o->label);
	assert(*at == NULL); /* the session thread removes a label before the label is used again */
	w = arena_calloc(a, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	*w = (struct swapped){.label = o->label, .received = o->received, .next_hop = o->next_hop};
	err = swapped_write(f, w);
	if (err != 0) {
		arena_free(a, w);
		return err;
	}
	*at = w;
	f->swapped.count++;
	return 0;
}

void
fib_feed_swaps(struct fib_feed *f, struct swap_order *order, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		order[i].result = 0;
		if (f->config.fib == NULL)
			continue;
		if (order[i].present)
			order[i].result = swapped_add(f, &order[i]);
		else
			swapped_remove(f, order[i].label);
	}
}

void
fib_swaps_rewrite(struct fib_feed *f)
{
	f->swapped.at = f->swapped.count > 0 ? 0 : SWAPPED_BUCKETS;
}

bool
fib_swaps_work(struct fib_feed *f, uint64_t deadline_ns)
{
	while (f->swapped.at < SWAPPED_BUCKETS) {
		for (struct swapped *w = f->swapped.bucket[f->swapped.at++]; w != NULL; w = w->next)
			if (swapped_write(f, w) != 0)
				fib_feed_fail(f);
		if (f->swapped.at % SLICE_BUCKETS == 0 && walk_clock() >= deadline_ns)
			break;
	}
	return f->swapped.at < SWAPPED_BUCKETS;
}

void
fib_swaps_fini(struct fib_feed *f)
{
	for (unsigned i = 0; f->swapped.bucket != NULL && i < SWAPPED_BUCKETS; i++)
		while (f->swapped.bucket[i] != NULL)
			swapped_remove(f, f->swapped.bucket[i]->label);
	arena_free(f->config.arena, f->swapped.bucket);
}
