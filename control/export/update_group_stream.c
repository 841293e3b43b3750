/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream is made in batches. A batch gathers changes, from the journal or from a slice of a walk; compares the old and the new route of each
 * destination once; and packs the messages once for all members, announcements before withdrawals.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"

#include <errno.h>
#include <string.h>

/* Distance in entries between a stage of the prefetch and the evaluation for a group. */
#define AHEAD_ENTRIES 12u
#define AHEAD_RECORDS 6u
#define WALK_IDS 16384u /* ids in one slice: in a policy walk most ids cause no change */
/* Below this number of advertised routes, a policy that matches few prefixes has denied nearly all destinations. */
#define SPARSE_ROUTES 4096u
#define RETRY_NS 50000000u /* at most, before a walk that waits tries again */
/* Few members hold up bulk for this time, and FEW_FACTOR times the time that the other members needed. */
#define FEW_NS 30000000u
#define FEW_FACTOR 2u
#define FEW_RETRY_NS 5000000u
#define FEW_PART 8u /* few: at most this part of the members of the stream */
/*
 * While peers send their tables: the pause between two reads of the journal, and the number of waiting entries, of 2^20, at which a pause ends. 1,000,000 routes of
 * four peers: 1.06 million announcements with 20 ms (5 ms: 1.25 million, 0: 1.64 million); 1.00 million are the minimum.
 */
#define REST_NS 20000000u
#define REST_ENTRIES (1u << 18)
#define BULK_HELD_MAX (1u << 18) /* bulk entries wait for members up to this number of entries */

/* ---- gathering ---- */

/* The offer for a destination, compared with the advertised route. 0, -ENOMEM. */
static int
offer_get(struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o)
{
	int err = rules_evaluate(g, id, view, o);

	return err < 0 ? err : offer_compare(g, id, o);
}

/* True if the group would withdraw the destination. */
static bool
offer_none(const struct offer *o)
{
	return !o->permit && !o->kept;
}

/* The source of the offered or kept route. */
static struct peer_id
offer_source(const struct update_group *g, struct dest_id id, const struct offer *o)
{
	return o->kept ? route_source(g, adj_rib_out_get(g->out, id)) : o->path.source;
}

/* True if a withdrawal depends on the order of the journal: of the route, or from its new source. */
static bool
offer_withdraws(const struct update_group *g, struct dest_id id, const struct offer *o)
{
	return offer_none(o) || member_find(g, offer_source(g, id, o)) != NULL;
}

/* True if the group has not passed the last change of the destination: a withdrawal must wait for this change. */
static bool
journal_ahead(const struct update_group *g, const struct dest_view *view)
{
	struct journal *j = g->set->journal;
	uint64_t passed = group_passed(g);
	uint32_t ahead = view->sequence - (uint32_t)passed;

	/* A published change need not have an entry yet. A larger distance is an old sequence number that has wrapped. */
	return ahead != 0 && ahead <= (uint32_t)(journal_newest(j) - passed);
}

/*
 * The advertised route of a changed destination cannot be sent again. The walk ends after the journal has brought the change, which is then sent even if the
 * route is again as before.
 */
static void
walk_end_after(struct update_group *g, struct dest_id id, const struct dest_view *view)
{
	uint64_t passed = group_passed(g);
	uint64_t last = passed + (uint32_t)(view->sequence - (uint32_t)passed);
	struct adj_route r = adj_rib_out_hold(g->out, id), old;

	r.edit = EDIT_UNNAMED;
	if (adj_rib_out_set(g->out, id, r, &old) == 0)
		adj_record_put(g->set->records, old.record);
	if (g->laps.end_after < last)
		g->laps.end_after = last;
}

static bool
visit_walk(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	bool walk = g->laps.walking > 0, ahead;
	struct route_key k;
	struct offer o;
	int err = offer_get(g, id, view, &o);

	if (err < 0) {
		g->error = err;
		return false;
	}
	/* a plan may still change the best path, and each change is announced once: only refusals act now */
	if (!walk && g->set->plan[g->rules.family].peer_count > 0 && o.permit) {
		/* also in a lap for rules that changed before the plan */
		g->stays |= !o.same;
		return !batch_full(g->set);
	}
	key_copy(&k, view);
	ahead = journal_ahead(g, view);
	if (ahead && offer_withdraws(g, id, &o))
		order_pass_over(g, id, view);
	if (!offer_none(&o) || !ahead)
		change_apply(g, id, &k, &o, walk, !ahead);
	else if (walk && adj_rib_out_get(g->out, id).record.v != 0 &&
		 !route_resend(g, id, &k, false))
		/* the withdrawal comes with the entry; until then EoRR must not remove the route */
		walk_end_after(g, id, view);
	return g->error == 0 && !batch_full(g->set);
}

/* The id of all shards. */
static struct dest_id
entry_id(const struct update_group *g, const struct journal_entry *e)
{
	return (struct dest_id){shards_id(&g->set->shards, e->shard, e->dest.v)};
}

/* Evaluates a destination at an entry of the journal, or later. A change may be early; a withdrawal, also to a new source, only where the order allows it. */
static bool
dest_take(struct update_group *g, struct dest_id id, uint64_t at, const struct dest_view *view)
{
	struct route_key k;
	struct offer o;
	bool may = true;
	int err;

	key_copy(&k, view);
	err = offer_get(g, id, view, &o);
	if (err < 0) {
		g->error = err;
		return false;
	}
	if (offer_withdraws(g, id, &o))
		may = order_may_withdraw(g, at, view);
	if (!may)
		owed_add(g, id);
	if (!offer_none(&o) || may)
		change_apply(g, id, &k, &o, false, may);
	return may;
}

/* In a lap. */
static void
visit_lap(struct update_group *g, struct dest_id id, uint64_t at, const struct dest_view *view)
{
	if (dest_take(g, id, at, view))
		owed_clear(g, id);
}

/*
 * No route is advertised or being copied, and the rules allow no route: destinations need not be evaluated. When the rules change, a walk over all destinations follows.
 */
bool
group_silent(const struct update_group *g)
{
	return rules_silent(&g->rules) && !g->planned && !g->frozen && g->deferred == 0 &&
	       adj_rib_out_count(g->out) == 0;
}

/* Bulk waits while the stream holds this much for the slowest member. */
static uint64_t
bulk_max(const struct update_group *g)
{
	return g->set->c.kept_max / 8 + 1;
}

/*
 * All members are in the stream, and none reads: the group falls behind, and not its members. Shards that wait for withdrawals need the messages all the same.
 */
bool
group_is_full(const struct update_group *g)
{
	return g->stream_count > 0 && g->stream_count == g->member_count && g->ready_count == 0 &&
	       g->kept >= bulk_max(g) && !journal_pressed(g->set->journal);
}

/* ---- while peers send their tables ---- */

void
update_groups_gather(struct update_groups *s, uint64_t now_ns, bool loading)
{
	s->now_ns = now_ns;
	s->loading = loading;
	windows_tidy(s, false);
}

void
update_groups_whole(struct update_groups *s, uint64_t sequence)
{
	if (sequence != UINT64_MAX && sequence != s->whole)
		s->part[s->part_count++ % PARTS_MAX] = sequence;
	s->whole = sequence;
}

/*
 * The end of the next run of a table. With several shards a run ends where all parts of the UPDATEs before are in the journal, and is no longer than a
 * batch.
 */
static uint64_t
part_end(const struct update_groups *s, const struct export_table *t)
{
	uint64_t position = journal_position(t->cursor), end = groups_end(s), next = end;
	bool fits = false;

	for (unsigned i = 0; i < PARTS_MAX && i < s->part_count; i++) {
		uint64_t at = s->part[i];
		bool in = at <= position + s->c.batch;

		if (at <= position || at > end)
			continue;
		if (in ? !fits || at > next : !fits && at < next)
			next = at;
		fits |= in;
	}
	return next;
}

/* The journal is not read until rest_ns. Marks, walks and laps are not held up. */
static bool
journal_rests(const struct update_groups *s, const struct export_table *t)
{
	uint64_t position = journal_position(t->cursor);

	return s->loading && position >= t->due && s->now_ns < t->rest_ns &&
	       journal_head(s->journal) - position < REST_ENTRIES;
}

uint64_t
stream_rest_ns(const struct update_group *g)
{
	const struct export_table *t = g->reader;

	return journal_rests(g->set, t) &&
			       journal_head(g->set->journal) != journal_position(t->cursor)
		       ? t->rest_ns
		       : windows_await_ns(g);
}

/* All entries up to the head are due now; then the journal rests. */
static void
journal_begin(struct update_groups *s, struct export_table *t)
{
	uint64_t position = journal_position(t->cursor), head = part_end(s, t);

	if (position < t->due || position >= head)
		return;
	t->due = head;
	rules_run_end(s); /* cached peers must not be older than the head */
	t->rest_ns = s->now_ns + REST_NS;
}

/* With several shards, the rest of the run may have further parts of the same UPDATEs. */
static bool
holds_parts(const struct update_group *g)
{
	return g->set->shards.count > 1 && g->set->change_count + g->set->quick_count > 0 &&
	       group_position(g) < g->reader->due && g->order.dirty.count == 0;
}

/* ---- entries of a window ---- */

/* The policy denies most destinations by their prefix, and the group advertises few. */
static bool
is_sparse(const struct update_group *g)
{
	return g->rules.policy != NULL && policy_asks_few(g->rules.policy) &&
	       adj_rib_out_count(g->out) < SPARSE_ROUTES && !g->planned && g->set->tap == NULL;
}

/* The policy of a sparse group refuses the prefix, and no member has a route that a later entry must withdraw. */
static bool
is_refused(const struct update_group *g, const struct window_entry *e)
{
	return adj_rib_out_get(g->out, e->dest).record.v == 0 &&
	       !policy_may_permit(g->rules.policy, &e->key.prefix);
}

bool
entry_skips(const struct update_group *g, const struct window_entry *entry)
{
	return (entry->aside || entry->repeated) && !bits_has(&g->order.owed, entry->dest);
}

/* The place in the journal of an entry of a window. */
static uint64_t
entry_at(const struct window *w, const struct window_entry *entry)
{
	return w->first + entry->at;
}

/*
 * Looks at the destination as it is now, newer than the copies. While copies follow, the destination stays owed, so no copy is used.
 */
static void
entry_look(struct update_group *g, const struct window *w, const struct window_entry *entry)
	RUNS_ON(role_session)
{
	const struct shards *s = &g->set->shards;
	struct dest_id id = entry->dest;
	uint64_t at = entry_at(w, entry);
	bool newest = g->order.window + 1 == g->reader->count;
	struct dest_view view;

	if (!dest_peek_best(g->table.at[shards_index(s, id)], shards_local(s, id), &view))
		owed_clear(g, id); /* the id is free: no group has an interest */
	else if (!dest_take(g, id, at, &view))
		return;
	else if (newest && view.sequence == (uint32_t)at)
		owed_clear(g, id);
	else
		owed_add(g, id);
}

static void
entry_take(struct update_group *g, const struct window *w, const struct window_entry *entry)
{
	struct dest_view view;

	window_view(entry, &view);
	g->set->from = entry->path != WINDOW_NONE ? &w->path[entry->path] : NULL;
	(void)dest_take(g, entry->dest, entry_at(w, entry), &view);
	g->set->from = NULL;
}

/* Prefetches a destination of which the window has no copy. */
static void
entry_prefetch_dest(const struct update_group *g, const struct window_entry *e, bool paths)
{
	const struct shards *s = &g->set->shards;
	const struct dest_table *t = g->table.at[shards_index(s, e->dest)];

	if (paths)
		dest_prefetch_paths(t, shards_local(s, e->dest));
	else
		dest_prefetch_id(t, shards_local(s, e->dest));
}

/* Prefetches what entry `i` needs. With `record` the second of two stages, which reads the octets of the first. */
static void
entry_prefetch(const struct update_group *g, const struct window *w, unsigned i, bool record)
{
	const struct window_entry *entry;

	if (i >= w->count || g->set->windows.done[i])
		return;
	entry = &w->entry[i];
	if (entry_skips(g, entry))
		return;
	if (entry->unread)
		entry_prefetch_dest(g, entry, record);
	adj_rib_out_prefetch(g->out, entry->dest, record);
	if (entry->path != WINDOW_NONE)
		adj_record_prefetch(g->set->records, w->path[entry->path].accepted, record);
}

/* Takes the other entries in the order of the journal. Returns the sequence of the last entry. */
static uint64_t
window_take(struct update_group *g, const struct window *w, uint64_t after, uint64_t upto)
	RUNS_ON(role_session)
{
	bool sparse = is_sparse(g);

	for (unsigned i = 0; i < AHEAD_ENTRIES; i++)
		entry_prefetch(g, w, i, false);
	for (unsigned i = 0; i < AHEAD_RECORDS; i++)
		entry_prefetch(g, w, i, true);
	for (unsigned i = 0; i < w->count; i++) {
		const struct window_entry *entry = &w->entry[i];

		entry_prefetch(g, w, i + AHEAD_ENTRIES, false);
		entry_prefetch(g, w, i + AHEAD_RECORDS, true);
		if (g->set->windows.done[i] || entry_at(w, entry) <= after || entry_skips(g, entry))
			continue;
		if (entry_at(w, entry) > upto)
			break;
		g->set->live = !entry->bulk;
		if (entry->unread || bits_has(&g->order.owed, entry->dest))
			entry_look(g, w, entry);
		else if (!sparse || !is_refused(g, entry))
			entry_take(g, w, entry);
		g->set->live = false;
		if (g->error != 0 || batch_full(g->set))
			return entry_at(w, entry);
	}
	return upto;
}

/* Takes the next window of the round. False: nothing was taken. */
static bool
window_gather(struct update_group *g) RUNS_ON(role_session)
{
	struct window *w = g->reader->window[g->order.window];
	uint64_t after = group_position(g), upto = w->last;

	if (group_is_full(g))
		return false;
	if (g->bulk_held && w->bulk <= w->last)
		upto = w->bulk - 1;
	if (upto <= after)
		return false;
	quick_window(g, w, after, upto);
	if (g->error == 0)
		upto = window_take(g, w, after, upto);
	if (g->error != 0)
		return false;
	g->order.taken = upto;
	if (upto < w->last)
		return true;
	g->order.taken = 0;
	if (g->order.window + 1 == g->reader->count)
		windows_arrive(g);
	else
		g->order.window++;
	return true;
}

/* Reads the next window of the table, for all groups. False: none now. */
static bool
table_read(struct update_group *g) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;
	struct export_table *t = g->reader;
	bool read;
	int err;

	if (!table_unread(s, t) || journal_rests(s, t))
		return false;
	journal_begin(s, t);
	read = window_read_next(g, s->shards.count > 1 ? t->due : groups_end(s), &err);
	if (err < 0 && err != -EOVERFLOW)
		g->error = err;
	return read;
}

/* Waiting bulk of the group holds up the reader of the table only up to here. */
static bool
is_far(const struct update_group *g)
{
	return journal_head(g->set->journal) - journal_position(g->reader->cursor) >= BULK_HELD_MAX;
}

/* One step of the group towards the end of the journal. False: nothing can be done now. */
static bool
journal_step(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	if (group_silent(g)) {
		windows_arrive(g);
		order_reset(g);
		return table_read(g);
	}
	if (g->order.dirty.count > 0) {
		bool read = (!g->bulk_held || is_far(g)) && table_read(g);

		group_fall(g);
		if (g->bulk_held)
			return read;
		order_lap(g, deadline_ns, visit_lap);
		return true;
	}
	if (g->order.window < g->reader->count) {
		if (window_gather(g))
			return true;
		if (g->error != 0 || !g->bulk_held || !is_far(g))
			return false;
		group_fall(g);
		return true;
	}
	if (owed_due(g)) {
		if (g->bulk_held && g->order.owed.count > BATCH_CHANGES)
			return false;
		order_lap(g, deadline_ns, visit_lap);
		return true;
	}
	if (!table_read(g))
		return false;
	if (g->order.window < g->reader->count)
		(void)window_gather(g);
	return true;
}

/* True: progress was made. */
static bool
journal_gather(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	bool any = false;

	while (!batch_full(g->set) && g->error == 0 && journal_step(g, deadline_ns)) {
		any = true;
		if (now_ns() >= deadline_ns && !holds_parts(g))
			break;
	}
	return any;
}

/* ---- live changes before bulk ---- */

/* Holds ids until every member has passed the stream. Without a free cursor, a member is disconnected when falling behind. */
static void
tail_need(struct update_group *g)
{
	if (g->first != g->last && g->tail == NULL)
		(void)journal_hold(g->set->journal, g->reader->hold, &g->tail);
}

/*
 * True if bulk entries are in front of the live changes. Without bulk the group reads the changes soon. A paused group joins changes, and the stream of a group
 * whose members do not read stays short.
 */
static bool
live_waits(const struct update_group *g)
{
	uint64_t position = group_position(g);

	return g->error == 0 && !g->frozen && !g->paused && !group_silent(g) &&
	       (g->ready_count > 0 || g->behind_count > 0 || g->kept < bulk_max(g)) &&
	       (g->order.dirty.count > 0 ||
		       (journal_newest_of(g->set->journal, g->rules.table) > position &&
			       journal_bulk(g->set->journal) > position));
}

static bool slowest_fall_behind(struct update_group *g, uint64_t deadline_ns);

/* Packs the changes of the batch; without changes forgets the attributes of routes that members have. True: packed. */
static bool
changes_finish(struct update_group *g, uint64_t passed) RUNS_ON(role_session)
{
	bool any = g->set->change_count > 0;

	if (any)
		batch_finish(g, passed);
	else if (g->set->made_count > 0)
		batch_reset(g->set);
	g->version += any;
	return any;
}

/* Announces live changes that the group has not read; withdrawals keep the order of the journal. True: the stream has new messages. */
static bool
live_announce(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;
	uint64_t passed = group_passed(g), version = g->version;

	tail_need(g); /* marks that were added since */
	while (g->kept >= s->c.kept_max)
		if (!slowest_fall_behind(g, deadline_ns) || now_ns() >= deadline_ns)
			return false;
	s->live = true;
	for (unsigned i = 0; i < s->news.count && g->error == 0; i++) {
		const struct journal_entry *e = &s->news.at[i];
		struct dest_id id = entry_id(g, e);
		struct route_key k;
		struct dest_view view;
		struct offer o;

		if (e->table.v != g->rules.table.v ||
			(e->sequence <= group_position(g) && !bits_has(&g->order.dirty, id)) ||
			!dest_peek_best(g->table.at[e->shard], e->dest, &view))
			continue;
		/* a further route could come before the withdrawal that makes room for it */
		if (group_limited(g) && adj_rib_out_get(g->out, id).record.v == 0)
			continue;
		if (g->order.window < g->reader->count)
			owed_add(g, id);
		g->error = offer_get(g, id, &view, &o);
		if (g->error != 0 || offer_none(&o))
			continue;
		if (offer_withdraws(g, id, &o))
			order_pass_over(g, id, &view);
		key_copy(&k, &view);
		change_apply(g, id, &k, &o, false, false);
		if (batch_full(s))
			(void)changes_finish(g, passed);
	}
	(void)changes_finish(g, passed);
	s->live = false;
	tail_need(g);
	return g->version != version || g->error != 0;
}

/* Reads the next live entries. False: none. */
static bool
news_read(struct update_groups *s)
{
	int n = journal_read_live(s->journal, &s->news.upto, s->news.at, LIVE_ENTRIES);

	if (n == -EOVERFLOW) /* the groups are lapped, too */
		s->news.upto = journal_head(s->journal);
	s->news.count = n > 0 ? (unsigned)n : 0;
	return n > 0;
}

bool
update_groups_live_due(struct update_groups *s)
{
	uint64_t head = journal_head(s->journal); /* before the bulk entries in front */

	if (s->news.next == NULL && s->news.none == journal_bulk(s->journal))
		s->news.upto = head;
	return s->news.next != NULL || head > s->news.upto;
}

bool
update_groups_live(struct update_groups *s, uint64_t deadline_ns, update_due *due, void *ctx)
{
	/* cached peers and sets are older than the entries, or than a quiescent report */
	rules_run_end(s);
	if (s->news.next == NULL) {
		s->news.bulk = journal_bulk(s->journal);
		if (!news_read(s))
			return false;
		s->news.next = s->groups;
		s->news.waits = false;
	}
	for (struct update_group *g; (g = s->news.next) != NULL;) {
		bool waits = live_waits(g);

		s->news.next = g->next;
		s->news.waits |= waits || g->frozen;
		if (waits && live_announce(g, deadline_ns))
			for (const struct update_member *m = g->members; m != NULL; m = m->next)
				due(ctx, m->id);
		if (now_ns() >= deadline_ns)
			break;
	}
	if (s->news.next == NULL && !s->news.waits)
		s->news.none = s->news.bulk;
	return update_groups_live_due(s);
}

/* ---- room for more ---- */

static bool
is_slowest(const struct update_group *g, const struct update_member *m)
{
	return m->state == MEMBER_STREAM && m->at == g->first && m->full;
}

static bool
slowest_is_full(const struct update_group *g)
{
	for (const struct update_member *m = g->members; m != NULL; m = m->next)
		if (is_slowest(g, m))
			return true;
	return false;
}

/*
 * Members with a full output at the oldest message fall behind; at least one member, even after the deadline. False: every member on the
 * oldest message has room, so the group waits for these members.
 */
static bool
slowest_fall_behind(struct update_group *g, uint64_t deadline_ns)
{
	bool any = false;

	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (!is_slowest(g, m))
			continue;
		if (any && now_ns() >= deadline_ns)
			break;
		behind_begin(m);
		any = true;
	}
	stream_trim(g);
	return any;
}

/* A lap begins, or the first bulk of the journal. */
static void
patience_begin(struct update_group *g)
{
	g->patience.began_ns = now_ns();
	g->patience.blocked_ns = g->patience.waited_ns = g->patience.few_since_ns = 0;
}

/*
 * Bulk, of a walk or of the journal, may wait for its slowest members for patience_ns plus half of the time since the lap began, or since the group
 * last had no bulk.
 */
static bool
walk_patience(struct update_group *g, uint64_t now)
{
	uint64_t waited;

	if (g->patience.blocked_ns == 0)
		g->patience.blocked_ns = now;
	waited = g->patience.waited_ns + (now - g->patience.blocked_ns);
	return waited <= g->set->c.patience_ns + (now - g->patience.began_ns) / 2;
}

/* Bulk waits only for members with a full output, and for few: the other members have passed the stream. */
static bool
waits_for_few(const struct update_group *g)
{
	unsigned full = 0;

	for (const struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->state != MEMBER_STREAM)
			continue;
		if (m->full)
			full++;
		else if (m->at != g->last)
			return false;
	}
	return full * FEW_PART <= g->stream_count;
}

/*
 * True if the few members have had enough time. A late check of this thread counts as one interval. The limit follows the other members, so that equal members
 * which share a busy processor stay in the stream.
 */
static bool
few_are_late(struct update_group *g, uint64_t now)
{
	uint64_t others, step;

	if (!waits_for_few(g)) {
		g->patience.few_since_ns = 0;
		return false;
	}
	if (g->patience.few_since_ns == 0) {
		g->patience.few_since_ns = g->patience.few_look_ns = now;
		g->patience.few_ns = 0;
	}
	others = g->patience.few_since_ns - g->patience.blocked_ns;
	step = now - g->patience.few_look_ns;
	g->patience.few_ns += step < RETRY_NS ? step : FEW_RETRY_NS;
	g->patience.few_look_ns = now;
	return g->patience.few_ns > FEW_NS + FEW_FACTOR * others;
}

/*
 * Time until the next check: half of the time so far, or half of the time that the other members needed. Each member with room has a turn then, so many
 * members must not check often.
 */
static uint64_t
walk_retry_ns(const struct update_group *g, uint64_t now)
{
	uint64_t ns = ((g->patience.few_since_ns != 0 ? g->patience.few_since_ns : now) -
			      g->patience.blocked_ns) /
		      2;

	if (ns > RETRY_NS)
		ns = RETRY_NS;
	if (ns < FEW_RETRY_NS)
		ns = FEW_RETRY_NS;
	return ns < g->set->c.patience_ns ? ns : g->set->c.patience_ns;
}

static void
walk_unblock(struct update_group *g)
{
	g->patience.few_since_ns = 0;
	if (g->patience.blocked_ns != 0)
		g->patience.waited_ns += now_ns() - g->patience.blocked_ns;
	g->patience.blocked_ns = 0;
}

static bool
bulk_may_run(struct update_group *g, uint64_t deadline_ns)
{
	while (g->kept >= bulk_max(g)) {
		uint64_t now = now_ns();

		if (!slowest_is_full(g)) {
			walk_unblock(g);
			return false;
		}
		if ((walk_patience(g, now) && !few_are_late(g, now)) || group_is_full(g)) {
			g->patience.retry_ns = now + walk_retry_ns(g, now);
			return false;
		}
		(void)slowest_fall_behind(g, deadline_ns);
		if (now_ns() >= deadline_ns)
			return false;
	}
	walk_unblock(g);
	return true;
}

bool
walk_blocked(const struct update_group *g)
{
	return group_is_full(g) || (g->patience.blocked_ns != 0 && g->kept >= bulk_max(g) &&
					   now_ns() < g->patience.retry_ns);
}

static bool
walk_runs(const struct update_group *g)
{
	return walk_place(g) < g->laps.until;
}

/* The journal delays the end of a walk. A slice for other members would meet further changed routes, and so delay the end again. */
static bool
end_waits(const struct update_group *g)
{
	return g->laps.walking > 0 && walk_place(g) >= g->laps.first_end &&
	       group_passed(g) < g->laps.end_after;
}

/* Each lap begins with the default route that we originate. */
static void
visit_default(struct update_group *g)
{
	struct route_key k = {.prefix.afi = (uint8_t)family_afi(g->rules.family)};
	struct offer o;
	int err = rules_default(g, &o);

	g->stats.walks += g->laps.walking > 0;
	if (err == 0)
		err = offer_compare(g, DEST_DEFAULT, &o);
	if (err < 0)
		g->error = err;
	else
		change_apply(g, DEST_DEFAULT, &k, &o, g->laps.walking > 0, true);
}

static void
walk_gather(struct update_group *g, uint64_t deadline_ns)
{
	uint32_t end = g->laps.walk.end;

	if (g->laps.walk.next == 0)
		visit_default(g);
	if (g->laps.until >> 32 == g->laps.lap && (uint32_t)g->laps.until < end)
		g->laps.walk.end = (uint32_t)g->laps.until;
	if (group_silent(g))
		g->laps.walk.next = g->laps.walk.end;
	else if (g->error == 0)
		walk_slice(&g->laps.walk, WALK_IDS, deadline_ns, now_ns, visit_walk, g);
	g->laps.walk.end = end;
	if (g->laps.walk.next >= end) {
		g->laps.walk.next = 0;
		g->laps.lap++;
		patience_begin(g);
	}
}

/* True if bulk entries of the journal wait for the members. */
static bool
bulk_waits(struct update_group *g, uint64_t deadline_ns)
{
	struct journal *j = g->set->journal;
	bool bulk = g->order.dirty.count > 0 || journal_bulk(j) > group_position(g);

	if (!group_walks(g) && (!bulk || !g->bulk)) {
		patience_begin(g);
	}
	g->bulk = bulk;
	return (bulk || group_is_full(g)) && !journal_pressed(j) && !bulk_may_run(g, deadline_ns);
}

/* Fills the batch. The journal and a walk alternate. True: progress was made. */
static bool
gather(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	while (g->kept >= g->set->c.kept_max)
		if (!slowest_fall_behind(g, deadline_ns) || now_ns() >= deadline_ns)
			return false;
	g->laps.turn = !g->laps.turn;
	if (g->laps.turn && walk_runs(g) && !end_waits(g) && bulk_may_run(g, deadline_ns)) {
		group_fall(g); /* the copies are older than what the walk shows */
		walk_gather(g, deadline_ns);
		return true;
	}
	g->bulk_held = bulk_waits(g, deadline_ns);
	return journal_gather(g, deadline_ns);
}

/* ---- walks ---- */

/* The place where all destinations were visited from now on. Younger destinations come by the journal. */
static uint64_t
walk_aim(struct update_group *g)
{
	if (walk_runs(g)) {
		g->laps.walk.end = shards_limit(&g->table);
	} else {
		walk_begin_all(&g->laps.walk, &g->table);
		g->laps.lap++;
		patience_begin(g);
	}
	g->laps.until = walk_place(g) + (UINT64_C(1) << 32);
	return g->laps.until;
}

void
policy_walk_owe(struct update_group *g)
{
	rules_forget(g);
	g->laps.policy_until = walk_aim(g);
	g->laps.short_of = g->laps.rest = false;
	/* the journal brings the withdrawals of destinations without a path */
	if (group_limited(g))
		g->laps.end_after = journal_reserved(g->set->journal);
}

static void
walk_begin_members(struct update_group *g) RUNS_ON(role_session)
{
	uint64_t end = walk_aim(g);

	if (g->laps.walking == 0) {
		g->laps.first_end = end;
		g->laps.unsent = false;
	}
	g->laps.serial++;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (!member_waits(m))
			continue;
		m->walk = g->laps.serial;
		m->walk_end = end;
		g->laps.walking++;
		if (!m->dumping) {
			m->framed = m->asks_framed;
			m->asks = m->asks_framed = false;
		}
		if (m->state != MEMBER_JOINING)
			continue;
		m->state = MEMBER_STREAM;
		g->stream_count++;
		g->ready_count += !m->full;
		member_stand(m, g->last);
	}
	g->laps.waiting = 0;
	stream_mark(g, MESSAGE_WALK_BEGIN, PEER_SELF, g->laps.serial);
}

/*
 * The walk met routes whose attributes cannot be made now: of changed destinations, which the journal will bring, or kept by a plan. In the second case the
 * walk goes on for a lap when the plan has ended.
 */
static bool
routes_await(const struct update_group *g)
{
	return group_passed(g) < g->laps.end_after ||
	       (g->laps.unsent && g->set->plan[g->rules.family].peer_count > 0);
}

/* EoRR would remove routes before the journal allows the withdrawal. */
static bool
withdrawals_await(const struct update_group *g)
{
	return g->deferred > 0 &&
	       (g->order.held != 0 || journal_head(g->set->journal) != group_position(g));
}

/* The walk of a member, or of several, can end. EoRR would remove the routes that could not be sent. */
static bool
end_is_due(const struct update_group *g)
{
	return g->laps.walking > 0 && walk_place(g) >= g->laps.first_end && !routes_await(g) &&
	       !withdrawals_await(g);
}

static void
walk_end_members(struct update_group *g) RUNS_ON(role_session)
{
	uint64_t end = g->laps.first_end, again = g->laps.unsent ? walk_aim(g) : 0;
	uint32_t serial = 0;

	g->laps.first_end = UINT64_MAX;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->walk_end == 0)
			continue;
		if (again != 0) {
			m->walk_end = again;
		} else if (m->walk_end <= end && (serial == 0 || serial == m->walk)) {
			serial = m->walk;
			m->walk_end = 0;
			g->laps.walking--;
			continue;
		}
		if (m->walk_end < g->laps.first_end)
			g->laps.first_end = m->walk_end;
	}
	g->laps.unsent = false;
	if (g->laps.walking == 0) /* the member of a later end may have left */
		g->laps.until = g->laps.policy_until;
	if (serial != 0)
		stream_mark(g, MESSAGE_WALK_END, PEER_SELF, serial);
}

/*
 * Routes that a limit keeps back are due after all withdrawals of the commit, in a lap more. Within a plan they are for its end.
 */
static bool
rest_is_due(const struct update_group *g)
{
	return g->laps.short_of && g->set->plan[g->rules.family].peer_count == 0;
}

static bool
policy_end_is_due(const struct update_group *g)
{
	return g->laps.policy_until != 0 && walk_place(g) >= g->laps.policy_until &&
	       (!rest_is_due(g) || group_passed(g) >= g->laps.end_after);
}

/* Between two batches: begins or ends walks of members, and ends the differences of changed rules. True: done. */
static bool
walk_step(struct update_group *g) RUNS_ON(role_session)
{
	if (g->laps.waiting > 0) {
		walk_begin_members(g);
	} else if (end_is_due(g)) {
		walk_end_members(g);
	} else if (policy_end_is_due(g)) {
		bool rest = rest_is_due(g);

		g->laps.short_of = false;
		g->laps.rest = rest;
		g->laps.policy_until = rest ? walk_aim(g) : 0;
		g->stats.policy_walks += !rest;
		if (!rest)
			stream_mark(g, MESSAGE_POLICY_END, PEER_SELF, 0);
	} else {
		return false;
	}
	return true;
}

/* ---- production ---- */

/* True if the group has a window, a lap, or a further part of the journal to read. */
static bool
journal_works(const struct update_group *g)
{
	const struct export_table *t = g->reader;
	uint64_t until;

	if (g->order.dirty.count > 0 || g->order.window < t->count || owed_due(g))
		return true;
	if (!table_unread(g->set, t) || journal_rests(g->set, t))
		return false;
	until = windows_await_ns(g);
	return until == 0 || now_ns() >= until;
}

bool
stream_works(const struct update_group *g)
{
	if (g->error != 0)
		return false;
	if (g->frozen)
		return true;
	if (split_pending(g) || settle_pending(g) ||
		(journal_works(g) && !(g->bulk_held && walk_blocked(g))))
		return true;
	return end_is_due(g) || policy_end_is_due(g) ||
	       (walk_runs(g) && !end_waits(g) && !walk_blocked(g));
}

bool
stream_pending(const struct update_group *g)
{
	return stream_works(g) || (g->error == 0 && g->laps.waiting > 0);
}

bool
stream_produce(struct update_group *g, uint64_t deadline_ns)
{
	uint64_t passed;
	bool done, quick;

	if (g->error != 0)
		return false;
	tail_need(g); /* marks that were added since */
	if (split_run(g))
		return true;
	if (g->frozen) {
		group_fall(g);
		return false;
	}
	if (walk_step(g) || settle_step(g)) {
		g->version++;
		return true;
	}
	passed = g->set->passed = group_passed(g);
	done = gather(g, deadline_ns);
	quick = g->set->quick_count > 0;
	/* the last term: members that are behind wait for a place in the journal */
	if (!changes_finish(g, passed) && (quick || (done && g->behind_count > 0)))
		g->version++;
	g->set->quick_count = 0;
	tail_need(g);
	if (g->reader->moved || journal_pressed(g->set->journal))
		table_release(g->set, g->reader);
	return done;
}
