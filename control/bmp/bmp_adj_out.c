/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adj-RIB-Out after policy (RFC 8671): the session thread has the routes, and answers questions in
 * slices.
 */
#include "control/bmp/bmp_impl.h"

#include <string.h>

#define OUT_SLICE_NS 200000u /* of a turn of the session thread */

static bool
out_room(const struct out_ask *a)
{
	return OUT_ANSWER - a->used >= sizeof(struct out_record) + ATTR_SET_MAX;
}

/* The route of a peer, or its withdrawal with `had`. With out_room(). */
static void
out_record_put(struct out_ask *a, struct peer_id peer, enum family f, const struct dest_view *v,
	struct dest_id id, bool walk, bool had) RUNS_ON(role_session)
{
	struct speaker *speaker = a->bmp->config.layers->speaker;
	struct out_record *rec = (struct out_record *)(void *)(a->answer + a->used);
	struct attr_set *attrs = (struct attr_set *)(void *)(rec + 1);
	const struct dest_id own = {DEST_NONE}; /* default_originate */
	int n = 0;

	*rec = (struct out_record){
		.peer = peer, .family = (uint8_t)f, .walk = walk, .rd = v->rd, .prefix = v->prefix};
	if (v->prefix.len == 0 && family_safi(f) != SAFI_VPN)
		n = session_adj_out(speaker, peer, f, own, attrs, ATTR_SET_MAX, &rec->label);
	if (n <= 0 && id.v != DEST_NONE)
		n = session_adj_out(speaker, peer, f, id, attrs, ATTR_SET_MAX, &rec->label);
	if (n <= 0 && !had)
		return;
	rec->attrs_len = n > 0 ? (uint32_t)n : 0;
	rec->size = (uint32_t)((sizeof(*rec) + rec->attrs_len + 7) / 8 * 8);
	a->used += rec->size;
}

/* The changed routes. False: no room or time for all. */
static bool
out_names(struct out_ask *a, uint64_t deadline) RUNS_ON(role_session)
{
	const struct layers *l = a->bmp->config.layers;

	for (; a->at < a->names; a->at++) {
		const struct path_change *name = &a->name[a->at];
		struct dest_view v = {.prefix = name->prefix, .rd = name->rd};
		struct shards_table t;
		struct dest_id id;

		if (!a->begun) {
			memset(a->members, 0, sizeof(a->members));
			(void)speaker_out_named(
				l->speaker, name, &a->family, &a->table, a->members);
			for (unsigned i = 0; i < PEER_WORDS; i++)
				a->members[i] &= a->wanted[i];
		}
		a->begun = true;
		if (bit_next(a->members, 0) < ENTITIES) {
			shards_table(&l->shards, a->table, &t);
			id = shards_find_rd(&t, v.rd, &v.prefix);
		}
		for (unsigned p = 0; (p = bit_next(a->members, p)) < ENTITIES; p++) {
			if (!out_room(a) || now_ns() >= deadline)
				return false;
			out_record_put(a, (struct peer_id){(uint16_t)p}, a->family, &v, id, false,
				name->had != PATH_HAD_NONE && name->had != p);
			bit_clear(a->members, p);
		}
		a->begun = false;
	}
	return true;
}

#define OUT_LOOKS 16u /* ids between two looks at the clock */

static void
out_walk(struct out_ask *a, uint64_t deadline) RUNS_ON(role_session)
{
	struct shards_table t;

	shards_table(&a->bmp->config.layers->shards, a->walk_table, &t);
	for (unsigned n = 0; a->id < a->end && out_room(a); n++, a->id++) {
		struct dest_view v;

		if (n % OUT_LOOKS == OUT_LOOKS - 1 && now_ns() >= deadline)
			return;
		if (shards_peek(&t, (struct dest_id){a->id}, &v) && v.paths != NULL)
			out_record_put(a, a->peer, a->walk_family, &v, (struct dest_id){a->id},
				true, false);
	}
}

static void on_out_answer(void *arg) RUNS_ON(role_bmp);

static void
on_out_question(void *arg) RUNS_ON(role_session)
{
	struct out_ask *a = arg;
	uint64_t begun = now_ns();

	a->used = 0;
	if (out_names(a, begun + OUT_SLICE_NS) && a->walk != NULL) {
		struct dest_view v = {.prefix.afi = (uint8_t)family_afi(a->walk_family)};

		if (a->id == 0 && family_safi(a->walk_family) != SAFI_VPN && out_room(a))
			out_record_put(a, a->peer, a->walk_family, &v, (struct dest_id){DEST_NONE},
				true, false);
		out_walk(a, begun + OUT_SLICE_NS);
	}
	a->spent_ns = now_ns() - begun;
	layers_send_bmp(a->bmp->config.layers, &a->mail, on_out_answer, a);
}

static bool
out_put(struct collector *c, const struct out_record *rec)
{
	struct route r = {.peer = rec->peer.v,
		.flags = BMP_FLAG_OUT | BMP_FLAG_POST,
		.family = (enum family)rec->family,
		.prefix = &rec->prefix,
		.rd = rec->rd,
		.label = rec->label,
		.time_s = (uint32_t)(now_ns() / SECOND)};

	if (rec->attrs_len > 0)
		r.set = (const struct attr_set *)(const void *)(rec + 1);
	return route_put(c, &r);
}

/* The collector, while the walk of the question still runs. NULL: the walk has ended. */
static struct collector *
out_walker(const struct bmp *b)
{
	const struct out_ask *a = &b->out;
	struct collector *c = NULL;

	for (unsigned i = 0; a->walk != NULL && i < b->count; i++)
		if (b->collector[i] == a->walk)
			c = b->collector[i];
	return c != NULL && c->connections == a->connection && c->walk == WALK_OUT &&
			       c->next_peer == a->peer.v && c->family == a->walk_family &&
			       bit(c->walked, a->peer.v)
		       ? c
		       : NULL;
}

static void
on_out_answer(void *arg) RUNS_ON(role_bmp)
{
	struct out_ask *a = arg;
	struct bmp *b = a->bmp;
	struct collector *walker = out_walker(b);
	uint64_t pause = 4 * a->spent_ns;

	a->sent = false;
	a->next_ns = now_ns() + (pause > OUT_PAUSE_NS ? pause : OUT_PAUSE_NS);
	for (size_t at = 0; at < a->used;) {
		const struct out_record *rec =
			(const struct out_record *)(const void *)(a->answer + at);

		at += rec->size;
		for (unsigned k = 0; !rec->walk && k < b->count; k++) {
			struct collector *c = b->collector[k];

			if ((c->config.views & BMP_ADJ_OUT) && follows(c, rec->peer.v) &&
				!out_put(c, rec))
				collector_lost(c, rec->peer.v);
		}
		if (rec->walk && walker != NULL && bit(walker->told, rec->peer.v) &&
			!out_put(walker, rec))
			collector_lost(walker, rec->peer.v);
	}
	if (walker == NULL)
		return;
	walker->next = a->id;
	if (a->id >= a->end) {
		walker->next_peer++;
		walker->next = 0;
	}
}

/* The next collector with a walk of Adj-RIB-Out and room. NULL: none. */
static struct collector *
out_walk_next(struct bmp *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct collector *c = b->collector[(b->out_turn + i) % b->count];

		if (c->state != UP || c->walk != WALK_OUT)
			continue;
		b->out_busy = true;
		if (out_waits(c) >= OUT_WALK || !walk_out_peer(c))
			continue;
		b->out_turn = (b->out_turn + i + 1) % b->count;
		return c;
	}
	return NULL;
}

static void
out_wanted(struct bmp *b)
{
	memset(b->out.wanted, 0, sizeof(b->out.wanted));
	for (unsigned k = 0; k < b->count; k++) {
		const struct collector *c = b->collector[k];

		for (unsigned i = 0; (c->config.views & BMP_ADJ_OUT) && i < PEER_WORDS; i++)
			b->out.wanted[i] |= c->told[i] & ~c->resync[i];
	}
}

void
out_send(struct bmp *b) RUNS_ON(role_bmp)
{
	struct out_ask *a = &b->out;
	entity_bits lost = {0};
	struct shards_table t;
	struct collector *c;

	b->out_busy = a->sent;
	if (a->sent || !b->out_ready)
		return;
	if (path_ring_lost(b->out_ring, lost))
		for (unsigned k = 0; k < b->count; k++)
			if (b->collector[k]->config.views & BMP_ADJ_OUT)
				peers_lost(b->collector[k]);
	if (a->at == a->names) {
		a->at = a->names = 0;
		while (a->names < OUT_NAMES && path_ring_get(b->out_ring, &a->name[a->names]))
			a->names++;
	}
	c = out_walk_next(b);
	a->walk = NULL;
	if (c != NULL && table_of(b, c->vrf, c->family, &t)) {
		a->walk = c;
		a->connection = c->connections;
		a->peer.v = (uint16_t)c->next_peer;
		a->walk_family = c->family;
		(void)shard_table_find(
			b->config.layers->shards.at[0], c->vrf, c->family, &a->walk_table);
		a->id = c->next;
		a->end = shards_limit(&t);
	} else if (c != NULL) {
		c->next_peer++; /* the table is gone */
	}
	b->out_busy |= a->names > 0;
	if ((a->names == 0 && a->walk == NULL) || now_ns() < a->next_ns)
		return;
	out_wanted(b);
	a->sent = true;
	layers_send_session(b->config.layers, &a->mail, on_out_question, a);
}
