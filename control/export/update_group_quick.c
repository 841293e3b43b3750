/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Announcements of a window that need no order: of destinations that the group does not advertise, and of destinations whose route a new route replaces, where
 * neither source is a member. All destinations of a path with equal attributes take one verdict, and their prefixes (of VPN families with label and
 * distinguisher) are copied from the window into messages. For external peers whose policy appends communities, or nothing, the attributes are encoded once for
 * all groups with equal rules.
 */
#include "control/export/update_group_impl.h"

#include "rib/table/path_ring.h"

#include <string.h>

/* How many routes the Adj-RIB-Out is prefetched ahead of quick_class(), and how many classes the record of the first route. */
#define AHEAD_ROUTES 16u
#define AHEAD_RECORDS 2u

/* Of a class of a window: its verdict, and places of the order. */
struct quick {
	struct window *w;
	struct window_class *class;
	struct window_verdict verdict;
	bool appends; /* the message is made from `class->base`; else from `offer` */
	struct offer offer;
	struct update_packer packer;
	unsigned from, end;
	unsigned added; /* routes to announce */
	uint16_t next_hop_at;
	bool live; /* some of them are not bulk */
	bool hashed; /* `hash` is that of the exported attributes */
	uint64_t hash;
};

/* False: no memory, or the attributes have no place in a common message. */
static bool
base_make(struct update_group *g, struct quick *q, uint64_t rules)
{
	struct update_groups *s = g->set;
	struct window_base *b = &q->class->base;
	const struct attr_set *a;
	size_t len;
	uint64_t hash;

	q->offer = offer_window(&q->w->path[q->class->first]);
	b->rules = 0;
	a = offer_content(g, &q->offer, &hash, &g->error);
	if (a == NULL || !update_packer_begin(&q->packer, g->rules.family, a, &g->rules.encode,
				 s->message, BGP_MSG_MAX))
		return false;
	len = (size_t)(q->packer.w.p - s->message);
	if (q->packer.mp || len > WINDOW_BASE - (b->size < len ? q->w->base_used : 0))
		return false;
	if (b->size < len) {
		b->at = q->w->base_used;
		b->size = (uint16_t)len;
		q->w->base_used += (uint32_t)len;
	}
	b->rules = rules;
	b->len = (uint16_t)len;
	b->next_hop_at = a->unused == OWN_NEXT_HOP ? (uint16_t)q->packer.next_hop_at : 0;
	update_packer_communities(&q->packer, &b->communities);
	memcpy(q->w->base + b->at, s->message, len);
	return true;
}

/* Writes the attributes of the class with the appended communities. False: no room. */
static bool
base_append(struct update_group *g, struct quick *q)
{
	const struct window_base *b = &q->class->base;

	q->next_hop_at = b->next_hop_at;
	return update_packer_append(&q->packer, q->w->base + b->at, b->len, &b->communities,
		q->verdict.values, q->verdict.count, g->set->message, BGP_MSG_MAX - WINDOW_NLRI);
}

/* Begins a message with the attributes of the class. False: the routes need messages of their own. */
static bool
quick_begin(struct update_group *g, struct quick *q)
{
	struct update_groups *s = g->set;
	const struct attr_set *a;

	if (q->appends)
		return base_append(g, q);
	a = offer_content(g, &q->offer, &q->hash, &g->error);
	q->hashed = true;
	if (a == NULL || !update_packer_begin(&q->packer, g->rules.family, a, &g->rules.encode,
				 s->message, BGP_MSG_MAX))
		return false;
	q->next_hop_at = a->unused == OWN_NEXT_HOP ? (uint16_t)q->packer.next_hop_at : 0;
	offer_sent(g, &q->offer, q->hash);
	return (size_t)(q->packer.w.end - q->packer.w.p) >= WINDOW_NLRI;
}

/* Puts added routes from *at on into the message, and moves *at. */
static void
quick_fill(struct update_group *g, struct quick *q, unsigned *at, struct message *head)
{
	struct update_groups *s = g->set;
	const struct window *w = q->w;
	struct wr *to = &q->packer.w;
	unsigned n = q->end - *at;
	uint32_t from = w->nlri_at[*at], len = w->nlri_at[q->end] - from;

	if (q->added == q->end - q->from && len <= (size_t)(to->end - to->p)) {
		memcpy(to->p, w->nlri + from, len);
		memcpy(s->message_id, w->id + *at, n * sizeof(w->id[0]));
		to->p += len;
		q->packer.count = head->id_count = n;
		*at = q->end;
		return;
	}
	head->id_count = 0;
	for (; *at < q->end; ++*at) {
		from = w->nlri_at[*at];
		len = w->nlri_at[*at + 1] - from;
		if (!s->windows.added[*at])
			continue;
		if ((size_t)(to->end - to->p) < len)
			return;
		memcpy(to->p, w->nlri + from, len);
		to->p += len;
		q->packer.count++;
		s->message_id[head->id_count++] = w->id[*at].v;
	}
}

/* Sends the added routes; the first message has begun. */
static void
quick_send(struct update_group *g, struct quick *q) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;
	struct message head = {.kind = MESSAGE_ALL_BUT,
		.who = q->w->path[q->class->first].peer,
		.live = q->live,
		.passed = s->passed};
	unsigned at = q->from;

	for (bool begun = true; g->error == 0; begun = false) {
		while (at < q->end && !s->windows.added[at])
			at++;
		if (at == q->end || (!begun && !quick_begin(g, q)))
			return;
		head.next_hop_at = q->next_hop_at;
		quick_fill(g, q, &at, &head);
		head.len = (uint16_t)update_packer_finish(&q->packer);
		g->stats.messages++;
		g->stats.octets += head.len;
		g->error = stream_append(g, &head, s->message_id, s->message);
	}
}

/* The route of a path of the class, with a reference on the record. */
static struct adj_route
quick_route(struct update_group *g, struct quick *q, struct window_path *p)
{
	struct adj_records *records = g->set->records;
	struct adj_route r = {.edit = q->verdict.edit};

	if (!q->appends) {
		g->error = offer_route(g, &q->offer, p, &r);
		return r;
	}
	if (p->record.v == 0) {
		q->offer = offer_window(p);
		g->error = offer_record(g, &q->offer, &p->record);
	}
	r.record = p->record;
	if (g->error == 0)
		adj_record_ref(records, r.record);
	return r;
}

/* True if the entry is not bulk. Most windows have entries of one kind, and the entry is in no cache. */
static bool
is_live(const struct window *w, unsigned i)
{
	return w->live && (w->bulk == UINT64_MAX || !w->entry[w->order[i]].bulk);
}

/* The entry needs no look: members have its route, or get it by a message of the class. */
static void
quick_done(struct update_group *g, const struct quick *q, unsigned i)
{
	const struct window *w = q->w;

	g->set->windows.done[w->order[i]] = true;
	if (__builtin_expect(g->set->changes != NULL, 0))
		change_name(g, &w->entry[w->order[i]].key, PATH_HAD_NONE);
}

/* The same; a message of the class announces the route. */
static void
quick_announce(struct update_group *g, struct quick *q, unsigned i)
{
	quick_done(g, q, i);
	q->live = q->live || is_live(q->w, i);
}

/* ---- replaced routes ---- */

/* True if members have the attributes of the class by the route `r`. */
static bool
quick_content(struct update_group *g, struct quick *q, struct adj_route r)
{
	if (!q->hashed && route_content_kept(g, r)) {
		struct offer o;
		int err;

		q->hashed = true;
		if (!rules_evaluate_window(g, &q->w->path[q->class->first], &o, &err) ||
			offer_content(g, &o, &q->hash, &err) == NULL)
			q->hash = 0; /* the route is announced again */
	}
	return q->hashed && route_has_content(g, r, q->hash);
}

enum replace {
	REPLACE_LOOK, /* a member is the source of the old route */
	REPLACE_NOTHING, /* the route is advertised */
	REPLACE_QUIETLY, /* members have the attributes */
	REPLACE_ANNOUNCE,
};

/* `old` becomes `r`. The source of `r` is no member. */
static enum replace
quick_compare(struct update_group *g, struct quick *q, struct adj_route old, struct adj_route r)
{
	if (member_find(g, route_source(g, old)) != NULL)
		return REPLACE_LOOK;
	if (old.record.v == r.record.v && old.edit == r.edit && old.label == r.label)
		return REPLACE_NOTHING;
	if (routes_alike(g, old, r) || (old.label == r.label && quick_content(g, q, old)))
		return REPLACE_QUIETLY;
	return REPLACE_ANNOUNCE;
}

/*
 * Replaces the routes of a path that quick_add() has not added. Members keep a route of each destination, and no member must lose its own route, so the place of
 * the entries in the journal does not matter.
 */
static void
quick_replace(
	struct update_group *g, struct quick *q, unsigned from, unsigned end, struct adj_route r)
{
	const struct window *w = q->w;
	bool *added = g->set->windows.added;
	struct adj_route last = {0}, old;
	enum replace how = REPLACE_LOOK;

	for (unsigned i = from; i < end && g->error == 0; i++) {
		if (added[i])
			continue;
		if (g->labels && r.label != w->label[i]) {
			r.label = w->label[i];
			last.record.v = 0;
		}
		old = adj_rib_out_get(g->out, w->id[i]);
		if (old.record.v != last.record.v || old.edit != last.edit ||
			old.label != last.label)
			how = quick_compare(g, q, old, r);
		last = old;
		if (how == REPLACE_LOOK)
			continue;
		if (how != REPLACE_NOTHING) {
			adj_record_ref(g->set->records, r.record);
			g->error = adj_rib_out_set(g->out, w->id[i], r, &old);
			if (g->error < 0)
				return;
			adj_record_put(g->set->records, old.record);
		}
		if (how != REPLACE_ANNOUNCE) {
			quick_done(g, q, i);
			continue;
		}
		added[i] = true;
		q->added++;
		quick_announce(g, q, i);
	}
}

/* Adds or replaces the routes of a path, at the places from `from` to `end`. */
static void
quick_add(
	struct update_group *g, struct quick *q, struct window_path *p, unsigned from, unsigned end)
{
	struct windows *ws = &g->set->windows;
	struct adj_route r = quick_route(g, q, p);
	unsigned added, upto;

	if (g->error < 0)
		return;
	/* in parts, between destinations that need a look */
	for (; from < end && g->error == 0; from = upto + 1) {
		for (upto = from; upto < end && !bits_has(&g->order.owed, q->w->id[upto]);)
			upto++;
		if (upto == from)
			continue;
		g->error = adj_rib_out_add(g->out, q->w->id + from, upto - from, r,
			q->w->label + from, ws->added + from, &added);
		q->added += added;
		for (unsigned i = from; i < upto && added > 0; i++) {
			if (!ws->added[i])
				continue;
			quick_announce(g, q, i);
		}
		if (g->error == 0 && added < upto - from)
			quick_replace(g, q, from, upto, r);
	}
	adj_record_put(g->set->records, r.record);
}

/* Refused routes that are not advertised, at the entry of the last change: no member has them, and no change was passed over. */
static void
quick_refuse(struct update_group *g, const struct quick *q)
{
	for (unsigned i = q->from; i < q->end; i++) {
		const struct window_entry *e = &q->w->entry[q->w->order[i]];

		if (e->sequence != (uint32_t)(q->w->first + e->at) ||
			bits_has(&g->order.owed, e->dest) ||
			adj_rib_out_get(g->out, e->dest).record.v != 0)
			continue;
		g->set->windows.done[q->w->order[i]] = true;
	}
}

/* The verdict for all routes of the class, and the beginning of a message. False: each route needs a look. */
static bool
quick_judge(struct update_group *g, struct quick *q, uint64_t rules)
{
	const struct window_path *p = &q->w->path[q->class->first];
	int err = 0;

	if (rules != 0 && rules_append_window(g, p, &q->verdict, &err)) {
		if (!q->verdict.permit) {
			quick_refuse(g, q);
			return false;
		}
		q->appends = (q->class->base.rules == rules || base_make(g, q, rules)) &&
			     base_append(g, q);
		if (q->appends)
			return true;
	}
	if (err == 0 && g->error == 0 && rules_evaluate_window(g, p, &q->offer, &err)) {
		q->verdict.edit = q->offer.edit;
		return quick_begin(g, q);
	}
	if (g->error == 0)
		g->error = err;
	return false;
}

/*
 * Advertises the routes of a class between two sequences, without a change of the batch for each: the members lose no route, so the place of the entries in the
 * journal does not matter.
 */
static void
quick_class(struct update_group *g, struct window *w, struct window_class *c, uint64_t rules,
	uint64_t after, uint64_t upto) RUNS_ON(role_session)
{
	struct windows *ws = &g->set->windows;
	struct quick quick = {.w = w, .class = c, .from = c->from, .end = c->end}, *q = &quick;

	if (!quick_judge(g, q, rules))
		return;
	memset(ws->added + q->from, 0, q->end - q->from);
	for (uint16_t n = q->class->first; n != WINDOW_NONE && g->error == 0; n = w->path[n].next) {
		struct window_path *p = &w->path[n];
		unsigned from = p->from, end = p->end;

		/* the entries of a path are in the order of the journal */
		while (from < end && w->first + w->entry[w->order[from]].at <= after)
			from++;
		while (from < end && w->first + w->entry[w->order[end - 1]].at > upto)
			end--;
		if (from < end)
			quick_add(g, q, p, from, end);
	}
	if (q->added == 0)
		return;
	g->set->quick_count += q->added;
	quick_send(g, q);
}

void
quick_window(struct update_group *g, struct window *w, uint64_t after, uint64_t upto)
{
	struct update_groups *s = g->set;
	unsigned ahead = 0;
	uint64_t rules;

	memset(s->windows.done, 0, w->count);
	/* with a trace each destination is evaluated alone */
	if (s->change_count > 0 || g->behind_count > 0 || g->rules.encode.add_path ||
		s->tap != NULL || !rules_suit_windows(g) ||
		(group_limited(g) && withdrawals_come(g)))
		return;
	rules = rules_key(g);
	for (unsigned i = 0; i < w->class_count && g->error == 0; i++) {
		struct window_class *c = &w->class[i];

		for (; ahead < w->ordered && ahead < c->end + AHEAD_ROUTES; ahead++)
			adj_rib_out_prefetch(g->out, w->id[ahead], false);
		if (i + AHEAD_RECORDS < w->class_count && c[AHEAD_RECORDS].from < w->ordered)
			adj_rib_out_prefetch(g->out, w->id[c[AHEAD_RECORDS].from], true);
		quick_class(g, w, c, rules, after, upto);
	}
}
