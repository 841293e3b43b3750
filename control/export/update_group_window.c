/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: the groups of a table read the journal together. The first group copies the destinations of some hundred entries, and the attributes of
 * their best paths; all groups use the copies. A window shows the table at the time of the copy. A later change of a destination has an entry behind the window,
 * so a group with an old window acts like a group at the time of the copy (docs/decisions/0013). Without the windows of a
 * round a group falls behind, and visits the destinations later.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"
#include "rib/shard/journal_prefetch.h"

#include <errno.h>
#include <string.h>

/* Distance in entries between a stage of the prefetch and the copy. */
#define AHEAD_DESTS 24u
#define AHEAD_PATHS 16u
#define AHEAD_SLOTS 10u
#define AHEAD_SETS 5u
#define UNUSED_MAX 64u
/*
 * A full round waits for await_ns after the last arrival, and AWAIT_FACTOR times the time from the begin of the round to the last arrival, so that receivers on a
 * busy processor stay together. AWAIT_MAX times await_ns is the limit for all groups.
 */
#define AWAIT_FACTOR 2u
#define AWAIT_MAX 20u

/* ---- memory ---- */

static void
window_clear(struct update_groups *s, struct window *w)
{
	for (unsigned i = 0; i < w->path_count; i++)
		adj_record_put(s->records, w->path[i].record);
	w->count = w->path_count = w->class_count = w->ordered = 0;
	w->room_used = w->base_used = 0;
}

static void
buffers_free(struct update_groups *s)
{
	arena_free(s->c.arena, s->windows.raw);
	s->windows.raw = NULL;
}

/* A part of an allocation. */
static void *
carve(uint8_t **at, size_t size)
{
	void *p = *at;

	*at += (size + 15) & ~(size_t)15;
	return p;
}

/* Nothing is owed to a group without unread entries. */
static void
owed_free(struct update_group *g)
{
	if (g->reader != NULL && g->order.window == g->reader->count && g->order.held == 0 &&
		group_settled(g))
		order_reset(g);
}

void
windows_tidy(struct update_groups *s, bool all)
{
	struct windows *ws = &s->windows;
	struct window *w;

	if (ws->raw == NULL || (!all && ws->idle++ < UNUSED_MAX))
		return;
	for (struct export_table *t = s->tables; t != NULL; t = t->next) {
		if (t->wait_ns != 0)
			return;
		round_end(t);
	}
	while ((w = ws->unused) != NULL) {
		ws->unused = w->next;
		window_clear(s, w);
		arena_free(s->c.arena, w->entry); /* and all parts behind */
		arena_free(s->c.arena, w);
		ws->made--;
	}
	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		owed_free(g);
	buffers_free(s);
	s->told.group = NULL;
}

static int
windows_reserve(struct update_groups *s)
{
	struct windows *ws = &s->windows;
	bool shared = s->shards.count > 1;
	uint8_t *at;
	size_t n;

	if (ws->raw != NULL)
		return 0;
	ws->size = shared ? WINDOW_ENTRIES_MAX : WINDOW_ENTRIES;
	ws->count = shared ? WINDOWS_SHARED : WINDOWS;
	if (ws->size > s->c.batch)
		ws->size = s->c.batch;
	n = ws->size;
	at = arena_alloc(s->c.arena,
		n * (sizeof(*ws->raw) + 8 * sizeof(*ws->hash) + 2 * sizeof(bool)) + 4 * 16);
	if (at == NULL)
		return -ENOMEM;
	ws->raw = carve(&at, n * sizeof(*ws->raw));
	ws->hash = carve(&at, 8 * n * sizeof(*ws->hash));
	ws->done = carve(&at, n * sizeof(*ws->done));
	ws->added = carve(&at, n * sizeof(*ws->added));
	return 0;
}

/* NULL: no memory. */
static struct window *
window_make(struct update_groups *s)
{
	struct arena *a = s->c.arena;
	struct window *w = arena_calloc(a, sizeof(*w));
	unsigned n = s->windows.size;
	size_t size =
		n * (sizeof(*w->entry) + sizeof(*w->path) + sizeof(*w->class) + sizeof(*w->order) +
			    sizeof(*w->id) + sizeof(*w->label) + sizeof(*w->nlri_at) + WINDOW_NLRI);
	uint8_t *at = arena_alloc(a, size + WINDOW_ROOM + WINDOW_BASE + 11 * 16);

	if (w == NULL || at == NULL) {
		arena_free(a, w);
		arena_free(a, at);
		return NULL;
	}
	w->entry = carve(&at, n * sizeof(*w->entry));
	w->path = carve(&at, n * sizeof(*w->path));
	w->class = carve(&at, n * sizeof(*w->class));
	w->room = carve(&at, WINDOW_ROOM);
	w->base = carve(&at, WINDOW_BASE);
	w->order = carve(&at, n * sizeof(*w->order));
	w->id = carve(&at, n * sizeof(*w->id));
	w->label = carve(&at, n * sizeof(*w->label));
	w->nlri_at = carve(&at, (n + 1) * sizeof(*w->nlri_at));
	w->nlri = carve(&at, n * WINDOW_NLRI);
	s->windows.made++;
	return w;
}

/* ---- paths and classes ---- */

/* Of the shard with the path, which took the record of the session before the path; other shards may not have taken the record yet. */
static void
path_source(
	struct update_groups *s, struct window_path *p, unsigned shard, const struct rib_path *best)
{
	if (best->peer.v == PEER_SELF.v) {
		p->kind = (uint8_t)rib_path_source(best);
		return;
	}
	p->known = shard_peer_peek(s->shards.at[shard], best->peer, &p->source);
	p->kind = p->known && !p->source.external ? SOURCE_INTERNAL : SOURCE_EXTERNAL;
}

/* Copies a path. False: the window has no room for the attributes. */
static bool
path_copy(struct update_groups *s, struct window *w, struct window_path *p, unsigned shard,
	const struct rib_path *best, struct attr_id accepted)
{
	const struct attr_table *table = shard_attrs(s->shards.at[shard]);
	const struct attr_set *a;
	size_t size;

	*p = (struct window_path){.accepted = accepted,
		.serial = attr_serial(table, best->accepted),
		.peer = best->peer,
		.next = WINDOW_NONE,
		.first = WINDOW_NONE,
		.last = WINDOW_NONE};
	path_source(s, p, shard, best);
	s->accepted_id.v = 0;
	a = attr_read(table, best->accepted, s->accepted);
	if (a == NULL)
		return true;
	size = (attr_set_size(a) + 15) & ~(size_t)15;
	if (size > WINDOW_ROOM - w->room_used)
		return false;
	memcpy(w->room + w->room_used, a, attr_set_size(a));
	p->attrs = (const struct attr_set *)(const void *)(w->room + w->room_used);
	w->room_used += (unsigned)size;
	p->forbidden = (uint8_t)attrs_forbid(p->attrs);
	return true;
}

static uint64_t
class_hash(const struct window_path *p)
{
	return hash_words(p->attrs != NULL ? hash_bytes(p->attrs, attr_set_size(p->attrs)) : 0,
		(uint64_t)p->peer.v << 8 | p->kind, p->known ? p->source.router_id : 0);
}

/* Puts the path into a class: of its own with one shard, where equal sets have one id. */
static void
class_join(struct update_groups *s, struct window *w, uint16_t path, unsigned mask)
{
	uint16_t *hash = s->windows.hash + mask + 1, n = (uint16_t)w->class_count;
	bool shared = s->shards.count > 1;
	uint64_t key = shared ? class_hash(&w->path[path]) : 0;
	unsigned h = (unsigned)key & mask;

	for (; shared && hash[h] != WINDOW_NONE; h = (h + 1) & mask)
		if (w->class[hash[h]].hash == key)
			break;
	if (shared && hash[h] != WINDOW_NONE) {
		struct window_class *c = &w->class[hash[h]];

		w->path[c->last].next = path;
		c->last = path;
		return;
	}
	hash[h] = n;
	w->class[n] = (struct window_class){.hash = key, .first = path, .last = path};
	w->class_count++;
}

/* The place of a best path in the window. WINDOW_NONE: no room. */
static uint16_t
path_find(struct update_groups *s, struct window *w, unsigned shard, const struct rib_path *best,
	unsigned mask)
{
	uint16_t *hash = s->windows.hash, n = (uint16_t)w->path_count;
	struct attr_id accepted = {shards_id(&s->shards, shard, best->accepted.v)};
	uint8_t kind = best->peer.v == PEER_SELF.v ? (uint8_t)rib_path_source(best) : 0;
	unsigned h = (unsigned)hash_word(
			     (uint64_t)accepted.v << 32 | (uint64_t)best->peer.v << 8 | kind) &
		     mask;

	for (; hash[h] != WINDOW_NONE; h = (h + 1) & mask) {
		const struct window_path *p = &w->path[hash[h]];

		if (p->accepted.v == accepted.v && p->peer.v == best->peer.v &&
			(best->peer.v != PEER_SELF.v || p->kind == kind))
			return hash[h];
	}
	if (!path_copy(s, w, &w->path[n], shard, best, accepted))
		return WINDOW_NONE;
	hash[h] = n;
	w->path_count++;
	class_join(s, w, n, mask);
	return n;
}

/* ---- reading ---- */

/* Without the epoch, which the shard writes in place. Stores each field: key_copy(). */
static void
best_copy(struct rib_path *to, const struct rib_path *p)
{
	to->peer = p->peer;
	atomic_init(&to->epoch, 0);
	to->accepted = p->accepted;
	to->received.v = to->path_id = 0;
	to->label_flags = p->label_flags;
	to->time_s = p->time_s;
}

/* False: no room, so the window ends before this entry. */
static bool
entry_copy(struct update_group *g, struct window *w, struct window_entry *e,
	const struct journal_entry *from, unsigned mask)
{
	struct update_groups *s = g->set;
	struct dest_view view;

	if (!dest_peek_best(g->table.at[from->shard], from->dest, &view)) {
		e->eligible = 0;
		e->unread = true; /* the id is free: no group has an interest */
		return true;
	}
	key_copy(&e->key, &view);
	e->sequence = view.sequence;
	e->fib = (uint8_t)view.fib;
	e->eligible = view.paths != NULL ? view.paths->eligible : 0;
	e->path = WINDOW_NONE;
	if (e->eligible == 0)
		return true;
	best_copy(&e->best, &view.paths->path[0]);
	if (w->count > 0 && !e[-1].unread && e[-1].path != WINDOW_NONE && e[-1].shard == e->shard &&
		e[-1].best.accepted.v == e->best.accepted.v &&
		e[-1].best.peer.v == e->best.peer.v && e->best.peer.v != PEER_SELF.v)
		e->path = e[-1].path;
	else
		e->path = path_find(s, w, from->shard, &e->best, mask);
	return e->path != WINDOW_NONE;
}

/* A destination of the run that an earlier entry has. */
static bool
is_repeated(struct update_groups *s, const struct export_table *t, struct dest_id id)
{
	uint64_t *slot = &s->seen[id.v & ((1u << SEEN_BITS) - 1)];
	uint64_t as = t->run << SEEN_BITS | id.v >> SEEN_BITS;
	bool repeated = *slot == as;

	*slot = as;
	return repeated;
}

/* Chooses the entries of the table. */
static void
window_choose(struct update_group *g, struct window *w, const struct journal_entry *raw, unsigned n,
	bool copied, struct journal_prefetch *p)
{
	struct update_groups *s = g->set;
	const struct export_table *t = g->reader;

	journal_prefetch_begin(p, &s->shards, true);
	for (unsigned i = 0; i < n; i++) {
		struct dest_id id = {shards_id(&s->shards, raw[i].shard, raw[i].dest.v)};
		struct window_entry *e = &w->entry[w->count];
		bool repeated;

		if (raw[i].table.v != t->table.v)
			continue;
		repeated = !raw[i].aside && is_repeated(s, t, id);
		e->at = (uint16_t)(raw[i].sequence - w->first);
		e->dest = id;
		e->path = e->next = WINDOW_NONE;
		e->shard = raw[i].shard;
		e->bulk = raw[i].bulk;
		e->aside = raw[i].aside;
		e->repeated = repeated;
		e->unread = raw[i].aside || repeated || !copied;
		if (raw[i].bulk && w->bulk == UINT64_MAX)
			w->bulk = raw[i].sequence;
		w->live |= !raw[i].bulk;
		if (!e->unread)
			journal_prefetch_choose(p, &raw[i], g->table.at[raw[i].shard]);
		w->count++;
	}
}

/* Copies the destinations of up to JOURNAL_PREFETCH_MAX entries. False: the room is used up. */
static bool
window_part(struct update_group *g, struct window *w, const struct journal_entry *raw, unsigned n,
	bool copied, unsigned mask)
{
	const struct journal_prefetch_ahead ahead = {.dests = AHEAD_DESTS,
		.paths = AHEAD_PATHS,
		.slots = AHEAD_SLOTS,
		.sets = AHEAD_SETS};
	struct journal_prefetch prefetch;
	unsigned i = w->count, at = 0, count;

	window_choose(g, w, raw, n, copied, &prefetch);
	count = w->count;
	for (w->count = i; i < count; i++) {
		struct window_entry *e = &w->entry[i];

		if (!e->unread) {
			while (raw[at].sequence != w->first + e->at)
				at++;
			journal_prefetch_step(&prefetch, 1, ahead, NULL, NULL, NULL);
			if (!entry_copy(g, w, e, &raw[at], mask)) {
				w->last = raw[at].sequence - 1;
				return false;
			}
		}
		w->count++;
	}
	w->last = raw[n - 1].sequence;
	return true;
}

static void
path_append(struct window *w, uint16_t i)
{
	struct window_path *p = &w->path[w->entry[i].path];

	if (p->first == WINDOW_NONE)
		p->first = i;
	else
		w->entry[p->last].next = i;
	p->last = i;
}

static void
order_append(struct window *w, uint16_t i, uint32_t *len)
{
	const struct window_entry *e = &w->entry[i];
	const struct prefix *p = &e->key.prefix;
	unsigned n = w->ordered++, octets = (p->len + 7u) / 8;
	uint8_t *to = w->nlri + *len;

	w->order[n] = i;
	w->id[n] = e->dest;
	w->label[n] = 0;
	w->nlri_at[n] = *len;
	*to++ = (uint8_t)(p->len + (w->labels ? 8 * (LABEL_OCTETS + 8) : 0));
	if (w->labels) {
		uint64_t rd = __builtin_bswap64(e->key.rd.v);

		w->label[n] = e->best.label_flags >> 12;
		label_put(to, w->label[n], true);
		memcpy(to + LABEL_OCTETS, &rd, 8);
		to += LABEL_OCTETS + 8;
	}
	memcpy(to, p->b, octets);
	*len = (uint32_t)(to + octets - w->nlri);
}

/* True if the route of an entry needs no look of its own before it is advertised. A default route may compete with the default route that we originate. */
static bool
is_plain(const struct window *w, const struct window_entry *e)
{
	return !e->unread && e->path != WINDOW_NONE && e->fib == DEST_INSTALLED &&
	       (w->labels ? e->best.label_flags >> 12 != RIB_LABEL_NONE : e->key.prefix.len > 0);
}

/* Orders the routes by class and path. */
static void
window_order(struct window *w)
{
	uint32_t len = 0;

	w->ordered = 0;
	for (unsigned i = 0; i < w->count; i++)
		if (is_plain(w, &w->entry[i]))
			path_append(w, (uint16_t)i);
	for (unsigned k = 0; k < w->class_count; k++) {
		struct window_class *c = &w->class[k];

		c->from = (uint16_t)w->ordered;
		for (uint16_t n = c->first; n != WINDOW_NONE; n = w->path[n].next) {
			struct window_path *p = &w->path[n];

			p->from = (uint16_t)w->ordered;
			for (uint16_t i = p->first; i != WINDOW_NONE; i = w->entry[i].next)
				order_append(w, i, &len);
			p->end = (uint16_t)w->ordered;
		}
		c->end = (uint16_t)w->ordered;
	}
	w->nlri_at[w->ordered] = len;
}

/* Continues the run of the newest window, or begins a run that ends at `end`. */
static uint64_t
window_run(struct update_groups *s, struct export_table *t, const struct window *w, uint64_t end)
{
	if (t->run == 0 || t->run_last + 1 != w->first || w->first > t->run_due) {
		t->run = ++s->runs;
		t->run_due = end;
	}
	return t->run_due < end ? t->run_due : end;
}

/* The group takes windows now. */
static bool
takes(const struct update_group *g)
{
	return g->error == 0 && g->order.dirty.count == 0 && !g->paused && !g->frozen &&
	       !group_silent(g);
}

static bool
table_takes(const struct export_table *t)
{
	for (const struct update_group *g = t->groups; g != NULL; g = g->table_next)
		if (takes(g))
			return true;
	return false;
}

/* 0: no entries; 1; an error of journal_read(). Destinations are copied only for a group ready to take the window. */
static int
window_read(struct update_group *g, struct window *w, uint64_t end)
{
	struct update_groups *s = g->set;
	struct windows *ws = &s->windows;
	struct export_table *t = g->reader;
	bool copied = table_takes(t);
	unsigned mask = 4, n;
	int got;

	w->first = journal_position(t->cursor) + 1;
	w->labels = g->labels;
	w->bulk = UINT64_MAX;
	w->live = false;
	end = window_run(s, t, w, end);
	n = end - w->first + 1 < ws->size ? (unsigned)(end - w->first + 1) : ws->size;
	got = journal_read(s->journal, t->cursor, ws->raw, n);
	if (got <= 0)
		return got;
	while (mask < 2 * (unsigned)got)
		mask *= 2;
	memset(ws->hash, 0xff, 2 * mask * sizeof(*ws->hash));
	n = (unsigned)got;
	for (unsigned i = 0; i < n; i += JOURNAL_PREFETCH_MAX) {
		unsigned part = n - i < JOURNAL_PREFETCH_MAX ? n - i : JOURNAL_PREFETCH_MAX;

		if (!window_part(g, w, ws->raw + i, part, copied, mask - 1)) {
			/* the next window begins a run: later entries count as seen */
			t->run_due = 0;
			break;
		}
	}
	window_order(w);
	t->run_last = w->last;
	return 1;
}

/* ---- rounds ---- */

/* All groups have taken the windows. */
static void
round_clear(struct update_groups *s, struct export_table *t)
{
	for (unsigned i = 0; i < t->count; i++) {
		struct window *w = t->window[i];

		window_clear(s, w);
		w->next = s->windows.unused;
		s->windows.unused = w;
	}
	t->count = 0;
	for (struct update_group *g = t->groups; g != NULL; g = g->table_next) {
		g->order.window = 0;
		g->order.taken = 0;
	}
	t->released |= t->wait_ns != 0;
	s->released |= t->released;
	t->wait_ns = 0;
	t->moved = true;
}

void
windows_arrive(struct update_group *g)
{
	struct export_table *t = g->reader;
	bool late = t != NULL && g->order.window < t->count;

	g->order.taken = 0;
	if (!late)
		return;
	g->order.window = t->count;
	if (t->wait_ns != 0)
		t->arrived_ns = now_ns();
	if (--t->late == 0)
		round_clear(g->set, t);
}

void
group_fall(struct update_group *g)
{
	const struct export_table *t = g->reader;
	uint64_t position;

	if (t == NULL || g->order.window >= t->count)
		return;
	position = group_position(g);
	for (unsigned k = g->order.window; k < t->count && g->error == 0 && !group_silent(g); k++) {
		const struct window *w = t->window[k];

		for (unsigned i = 0; i < w->count; i++)
			if (w->first + w->entry[i].at > position && !entry_skips(g, &w->entry[i]))
				dirty_add(g, w->entry[i].dest, position);
	}
	windows_arrive(g);
}

void
round_end(struct export_table *t)
{
	for (struct update_group *g = t->groups; g != NULL && t->count > 0; g = g->table_next)
		group_fall(g);
}

/* A late group has room: the group waits for a turn of this thread, and would take longer alone. */
static bool
late_has_room(const struct export_table *t)
{
	for (const struct update_group *g = t->groups; g != NULL; g = g->table_next)
		if (g->order.window < t->count && g->ready_count > 0)
			return true;
	return false;
}

static uint64_t
await_until(const struct update_groups *s, const struct export_table *t)
{
	uint64_t others = t->arrived_ns - t->round_ns;
	uint64_t next = t->arrived_ns + s->c.await_ns + AWAIT_FACTOR * others;
	uint64_t last = t->wait_ns + AWAIT_MAX * s->c.await_ns;

	return next < last && !late_has_room(t) ? next : last;
}

uint64_t
windows_await_ns(const struct update_group *g)
{
	const struct export_table *t = g->reader;
	const struct journal *j = g->set->journal;

	if (t->wait_ns == 0 || g->order.window < t->count ||
		journal_bulk(j) <= journal_position(t->cursor) || journal_pressed(j))
		return 0;
	return await_until(g->set, t);
}

/*
 * At the end of a full round. True: bulk waits for groups that have not taken the round. A late receiver stops the group of the receiver; without the wait the
 * group would visit each destination alone.
 */
static bool
round_waits(struct update_group *g)
{
	struct export_table *t = g->reader;
	uint64_t now = now_ns();

	if (t->wait_ns == 0)
		t->wait_ns = t->arrived_ns = now;
	if (windows_await_ns(g) > now)
		return true;
	round_end(t);
	return false;
}

/* ---- making windows ---- */

/* With too many windows in use, the oldest round ends. NULL: no memory. */
static struct window *
window_new(struct update_groups *s)
{
	struct windows *ws = &s->windows;
	struct export_table *oldest = NULL;
	struct window *w;

	for (struct export_table *t = s->tables;
		ws->unused == NULL && ws->made >= WINDOWS_MAX && t != NULL; t = t->next)
		if (t->count > 0 && (oldest == NULL || t->round_ns < oldest->round_ns))
			oldest = t;
	if (oldest != NULL)
		round_end(oldest);
	w = ws->unused;
	if (w == NULL)
		return window_make(s);
	ws->unused = w->next;
	return w;
}

/* The journal has lapped the reader. */
static void
table_lapped(struct update_groups *s, struct export_table *t)
{
	round_end(t);
	for (struct update_group *g = t->groups; g != NULL; g = g->table_next) {
		g->stats.lapped++;
		if (!group_silent(g))
			dirty_all(g);
	}
	(void)journal_resume(s->journal, t->cursor);
	journal_advance(s->journal, t->cursor, journal_position(t->cursor));
	t->due = 0;
}

/* A window of the round, for all groups. The others fall behind at once. */
static void
round_add(struct update_group *g, struct window *w)
{
	struct export_table *t = g->reader;

	if (t->count == 0)
		t->round_ns = now_ns();
	t->window[t->count++] = w;
	t->late = 0;
	for (const struct update_group *o = t->groups; o != NULL; o = o->table_next)
		t->late += o->order.window < t->count;
	for (struct update_group *o = t->groups; o != NULL; o = o->table_next)
		if (o != g && !takes(o))
			group_fall(o);
}

bool
window_read_next(struct update_group *g, uint64_t end, int *err)
{
	struct update_groups *s = g->set;
	struct windows *ws = &s->windows;
	struct export_table *t = g->reader;
	struct window *w;

	*err = 0;
	if (journal_position(t->cursor) >= end)
		return false;
	*err = windows_reserve(s);
	if (*err < 0 || (t->count == ws->count && round_waits(g)))
		return false;
	w = window_new(s);
	if (w == NULL) {
		*err = -ENOMEM;
		return false;
	}
	s->told.group = NULL; /* may point to the paths that are overwritten */
	ws->idle = 0;
	*err = window_read(g, w, end);
	if (*err <= 0) {
		window_clear(s, w);
		w->next = ws->unused;
		ws->unused = w;
		if (*err == -EOVERFLOW)
			table_lapped(s, t);
		return *err == -EOVERFLOW;
	}
	ws->serial++;
	journal_advance(s->journal, t->cursor, w->last);
	round_add(g, w);
	return true;
}

void
window_view(const struct window_entry *e, struct dest_view *out)
{
	out->prefix = e->key.prefix;
	out->rd = e->key.rd;
	out->paths = e->eligible > 0 ? &out->room.set : NULL;
	out->ordered = 1;
	out->behind = 0;
	out->sequence = e->sequence;
	out->fib = (enum dest_fib)e->fib;
	out->identity = 0;
	out->room.set.count = 1;
	out->room.set.eligible = e->eligible;
	out->room.set.multipath = 1;
	out->room.set.unused = 0;
	out->room.room.path[0] = e->best;
}

bool
windows_full(const struct update_group *g)
{
	const struct windows *ws = &g->set->windows;

	return table_shared(g) && ws->count > 0 && g->reader->count == ws->count;
}
