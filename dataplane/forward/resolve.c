/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/resolve.h"
#include "dataplane/forward/forward.h"
#include "lpm/fib_read.h"
#include "lpm/path_list.h"
#include "lpm/base/ring.h"

#include <rte_mbuf.h>
#include <string.h>

#define NONE UINT16_MAX
#define GLEANS_PER_S 1000
#define REPEAT_MS 100 /* interval between requests for one neighbour */
#define GIVE_UP_S 3 /* the kernel sends three requests, a second apart */
#define FORGET_S 10 /* after a pause this long, a request starts over */
#define LOOK_US 100 /* at next hops and times; at routes after each change of the tables */

static_assert(RESOLVE_PACKETS < NONE && RESOLVE_PLACES < NONE, "fit in 16 bits");

void
resolve_init(struct resolve *r, uint64_t hz, uint64_t now)
{
	r->look = hz / 1000000 * LOOK_US;
	r->repeat = hz / 1000 * REPEAT_MS;
	r->give_up = hz * GIVE_UP_S;
	r->forget = hz * FORGET_S;
	bucket_init(&r->bucket, hz, GLEANS_PER_S, now);
	r->first = r->last = NONE;
	r->most = RESOLVE_PACKETS;
	for (unsigned i = 0; i < RESOLVE_PACKETS; i++)
		r->packet[i].next = i + 1 < RESOLVE_PACKETS ? (uint16_t)(i + 1) : NONE;
	for (unsigned i = 0; i < RESOLVE_PLACES; i++)
		r->place[i].first = r->place[i].last = NONE;
}

void
resolve_fini(struct resolve *r)
{
	for (unsigned i = r->count > 0 ? r->first : NONE; i != NONE; i = r->packet[i].next)
		rte_pktmbuf_free_bulk(&r->packet[i].pkt, 1);
	r->count = 0;
}

/* ---- packets ---- */

static void
append(struct resolve *r, struct resolve_place *n, const struct resolve_packet *x)
	RUNS_ON(role_worker)
{
	uint16_t i = r->free;
	struct resolve_packet *p = &r->packet[i];

	r->free = p->next;
	*p = *x;
	p->place = (uint16_t)(n - r->place);
	p->same = p->next = NONE;
	p->before = r->last;
	*(r->last != NONE ? &r->packet[r->last].next : &r->first) = i;
	*(n->last != NONE ? &r->packet[n->last].same : &n->first) = i;
	r->last = n->last = i;
	n->count++;
	r->count++;
}

static void
unlink_packet(struct resolve *r, uint16_t i) RUNS_ON(role_worker)
{
	struct resolve_packet *p = &r->packet[i];
	struct resolve_place *n = &r->place[p->place];
	uint16_t before = NONE;

	for (uint16_t k = n->first; k != i; k = r->packet[k].same)
		before = k;
	*(before != NONE ? &r->packet[before].same : &n->first) = p->same;
	if (n->last == i)
		n->last = before;
	*(p->before != NONE ? &r->packet[p->before].next : &r->first) = p->next;
	*(p->next != NONE ? &r->packet[p->next].before : &r->last) = p->before;
	p->next = r->free;
	r->free = i;
	n->count--;
	r->count--;
	if (r->forced > r->count)
		r->forced = r->count;
}

static void
drop(struct resolve *r, uint16_t i, struct worker_stats *stats) RUNS_ON(role_worker)
{
	struct rte_mbuf *m = r->packet[i].pkt;

	unlink_packet(r, i);
	rte_pktmbuf_free_bulk(&m, 1);
	count_add(&stats->drops[DROP_neighbor_queue], 1);
}

/* ---- neighbours ---- */

static bool
same(const struct resolve_place *n, const struct waiting *x)
{
	return n->tsc != 0 && n->next_hop == x->next_hop && n->port == x->port &&
	       memcmp(&n->addr, &x->addr, sizeof(n->addr)) == 0;
}

/* The places that the neighbour may have. */
static struct resolve_place *
places_of(struct resolve *r, const struct waiting *x) RUNS_ON(role_worker)
{
	uint64_t a[2];

	memcpy(a, x->addr.b, sizeof(a));
	a[1] ^= (uint64_t)x->next_hop << 32 | x->port;
	return &r->place[hash_mix(a[0] ^ hash_mix(a[1])) % RESOLVE_SETS * RESOLVE_WAYS];
}

static struct resolve_place *
find(struct resolve *r, const struct waiting *x) RUNS_ON(role_worker)
{
	struct resolve_place *n = places_of(r, x);

	for (unsigned i = 0; i < RESOLVE_WAYS; i++)
		if (same(&n[i], x))
			return &n[i];
	return NULL;
}

/* Replaces the neighbour with the oldest request. */
static struct resolve_place *
take_place(struct resolve *r, const struct waiting *x, struct worker_stats *stats)
	RUNS_ON(role_worker)
{
	struct resolve_place *n = places_of(r, x), *oldest = n;

	for (unsigned i = 1; i < RESOLVE_WAYS; i++)
		if (n[i].tsc < oldest->tsc)
			oldest = &n[i];
	while (oldest->count > 0)
		drop(r, oldest->first, stats);
	oldest->addr = x->addr;
	oldest->next_hop = x->next_hop;
	oldest->port = x->port;
	oldest->tsc = 0;
	return oldest;
}

/*
 * Passes a request to the host thread, which copies each request before taking the next. A
 * successful push shows that all but GLEAN_RING - 1 earlier requests have been taken, so with 2 *
 * GLEAN_RING places the next place is free. If the ring is full, the request is dropped; a later
 * packet repeats the request.
 */
static void
ask(struct resolve *r, const struct waiting *x, const struct path_lists *lists) RUNS_ON(role_worker)
{
	struct glean *place = &r->glean[r->glean_next % GLEAN_PLACES];
	struct next_hop_view v;

	*place = (struct glean){.port = x->port, .addr = x->addr};
	if (x->next_hop != NEXT_HOP_NONE) {
		if (lists == NULL || !next_hop_peek(lists, (struct next_hop_id){x->next_hop}, &v) ||
			v.port == PORT_NONE) /* an edge: its neighbour is resolved anyway */
			return;
		*place = (struct glean){.port = v.port, .addr = v.addr};
	}
	if (ring_push(r->gleans, place))
		r->glean_next++;
}

enum resolve_fate
resolve_add(struct resolve *r, const struct burst *b, const struct waiting *x, uint16_t vrf,
	const struct path_lists *lists, uint64_t now)
{
	struct resolve_place *n = find(r, x);

	/* at most a request per neighbour in REPEAT_MS, and GLEANS_PER_S in total */
	if (n == NULL || now - n->tsc >= r->repeat) {
		bool asks = bucket_take(&r->bucket, now);

		if (n == NULL && !asks)
			return RESOLVE_NO;
		if (n == NULL)
			n = take_place(r, x, b->stats);
		if (asks) {
			if (n->tsc == 0 || now - n->tsc > r->forget)
				n->since = now;
			n->tsc = now;
			ask(r, x, lists);
		}
	}
	if (now - n->since > r->give_up)
		return RESOLVE_FAILED;
	if (n->count == RESOLVE_EACH)
		drop(r, n->first, b->stats);
	while (r->count >= r->most)
		drop(r, r->first, b->stats);
	append(r, n,
		&(struct resolve_packet){.pkt = x->pkt,
			.list = x->list,
			.port = b->port,
			.vrf = vrf,
			.afi = x->afi,
			.own = b->own});
	return RESOLVE_WAITS;
}

/* ---- sending ---- */

/* True if any path of the list is up. */
static bool
is_up(const struct fib_reader *fib, uint32_t id) RUNS_ON(role_worker)
{
	struct fib_list list = fib_read_head(fib, id);
	struct fib_hop hop;

	for (unsigned i = 0; i < list.all; i++)
		if (fib_read_hop(fib, &list, i, &hop))
			return true;
	return false;
}

/* True if the route of the packet has changed since the packet began to wait. */
static bool
moved(const struct resolve_packet *p, const struct fib_reader *fib, const struct fib_generation *g)
	RUNS_ON(role_worker)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(p->pkt, const uint8_t *, ETHER_LEN);

	return p->afi != AFI_NONE &&
	       forward_list(ip, (enum afi)p->afi, (struct vrf_id){p->vrf}, fib, g) != p->list;
}

/* False: an earlier packet for the list still waits, because no path was up a moment ago. */
static bool
is_first(const struct resolve *r, const struct resolve_place *n, uint16_t i) RUNS_ON(role_worker)
{
	uint16_t k = n->first;

	while (k != i && r->packet[k].list != r->packet[i].list)
		k = r->packet[k].same;
	return k == i;
}

/* While packets wait: keeld asks for next hops at all times, and the first request may have met the end of the kernel's attempts. */
static void
ask_again(struct resolve *r, struct resolve_place *n, const struct path_lists *lists, uint64_t now)
	RUNS_ON(role_worker)
{
	const struct waiting x = {.next_hop = n->next_hop};

	if (now - n->tsc < r->repeat || !bucket_take(&r->bucket, now))
		return;
	n->tsc = now;
	ask(r, &x, lists);
}

unsigned
resolve_take(struct resolve *r, const struct fib_reader *fib, const struct fib_generation *g,
	const struct path_lists *lists, uint64_t now, struct resolve_packet *out, unsigned max)
{
	bool changed = g->number != r->generation;
	unsigned n = 0;
	uint16_t i;

	if (!changed && r->forced == 0 && now < r->next_look)
		return 0;
	for (i = r->first; i != NONE && n < max;) {
		struct resolve_packet *p = &r->packet[i];
		struct resolve_place *of = &r->place[p->place];
		uint16_t next = p->next;

		p->failed = now - of->since > r->give_up;
		if (r->forced > 0 || p->failed ||
			(of->next_hop != NEXT_HOP_NONE && is_up(fib, p->list) &&
				is_first(r, of, i)) ||
			(changed && moved(p, fib, g))) {
			r->forced -= r->forced > 0;
			out[n++] = *p;
			unlink_packet(r, i);
			if (of->count == 0 && !p->failed)
				of->tsc = 0; /* requests start over after another loss */
		} else if (i == of->first && of->next_hop != NEXT_HOP_NONE) {
			ask_again(r, of, lists, now);
		}
		i = next;
	}
	if (i == NONE) {
		r->generation = g->number;
		r->next_look = now + r->look;
	}
	return n;
}

void
resolve_forget_tables(struct resolve *r)
{
	r->forced = r->count;
	for (unsigned i = 0; i < RESOLVE_PLACES; i++)
		if (r->place[i].next_hop != NEXT_HOP_NONE && r->place[i].count == 0)
			r->place[i].tsc = 0;
}
