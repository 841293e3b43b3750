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
#define RETRY_NS 50000000u /* before a walk that waits tries again */
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

/* True if the cursor of the group has not read the last change of the destination: a withdrawal must wait for this change. */
static bool
journal_ahead(const struct update_group *g, const struct dest_view *view)
{
	struct journal *j = g->set->journal;
	uint64_t passed = journal_passed(g->cursor);
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
	uint64_t passed = journal_passed(g->cursor);
	uint64_t last = passed + (uint32_t)(view->sequence - (uint32_t)passed);
	struct adj_route r = adj_rib_out_hold(g->out, id), old;

	r.edit = EDIT_UNNAMED;
	if (adj_rib_out_set(g->out, id, r, &old) == 0)
		adj_record_put(g->set->records, old.record);
	if (g->end_after < last)
		g->end_after = last;
}

/* Before the horizon may rise: with a settled journal no withdrawal waits, and an incomplete set begins anew. */
static void
owed_learn(struct update_group *g)
{
	if (g->owed_known || !journal_settled(g->cursor))
		return;
	bits_fini(g->set->c.arena, &g->owed);
	g->owed_at = 0;
	g->owed_known = true;
}

static void
owed_add(struct update_group *g, struct dest_id id)
{
	bool had = bits_has(&g->owed, id);

	if (!g->owed_known)
		return;
	if (bits_set(g->set->c.arena, &g->owed, id) < 0)
		g->owed_known = false;
	else if (!had && g->owed_at > id.v)
		g->owed_at = id.v; /* by a walk: the second reading returns */
}

/* The group has read the destination, and no withdrawal waits. */
void
owed_clear(struct update_group *g, struct dest_id id)
{
	if (g->owed.count > 0)
		(void)bits_clear(&g->owed, id);
}

static void
pass_over(struct update_group *g, struct dest_id id, const struct dest_view *view)
{
	owed_learn(g);
	journal_passed_over(g->set->journal, g->cursor, view);
	owed_add(g, id);
}

static bool
visit_walk(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	bool walk = g->kind == WALK_SEND, ahead;
	struct route_key k;
	struct offer o;
	int err = offer_get(g, id, view, &o);

	if (err < 0) {
		g->error = err;
		return false;
	}
	/* a plan may still change the best path, and each change is announced once: only refusals act now */
	if (g->kind == WALK_POLICY && g->set->plan[g->rules.family].peer_count > 0 && o.permit) {
		/* also in a walk of rules that changed before the plan */
		g->stays |= !o.same;
		return !batch_full(g->set);
	}
	key_copy(&k, view);
	ahead = journal_ahead(g, view);
	if (ahead && offer_withdraws(g, id, &o))
		pass_over(g, id, view);
	if (!offer_none(&o) || !ahead)
		change_apply(g, id, &k, &o, walk, !ahead);
	else if (walk && adj_rib_out_get(g->out, id).record.v != 0 &&
		 !route_resend(g, id, &k, false))
		/* the withdrawal comes with the entry; until then EoRR must not remove the route */
		walk_end_after(g, id, view);
	return g->error == 0 && !batch_full(g->set);
}

/* First walk after the journal has lapped the cursor: announces the destinations that changed since. */
static bool
visit_announce(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	struct route_key k;
	struct offer o;
	int err;

	if ((int32_t)(view->sequence - g->reach_back) <= 0)
		return true;
	key_copy(&k, view);
	err = offer_get(g, id, view, &o);
	if (err < 0) {
		g->error = err;
		return false;
	}
	if (offer_withdraws(g, id, &o))
		pass_over(g, id, view);
	if (!offer_none(&o))
		change_apply(g, id, &k, &o, false, false);
	return g->error == 0 && !batch_full(g->set);
}

/* Second walk: withdraws. For a destination that changed later, the journal will bring the last entry. */
static bool
visit_withdraw(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	struct route_key k;
	struct offer o;
	int err;

	if (adj_rib_out_get(g->out, id).record.v == 0)
		return true;
	key_copy(&k, view);
	err = offer_get(g, id, view, &o);
	if (err < 0)
		g->error = err;
	else if ((int32_t)(view->sequence - g->upto) <= 0)
		change_apply(g, id, &k, &o, false, true);
	else if (offer_withdraws(g, id, &o))
		/* the last entry may be `aside`, and the change that removed the route may be lost */
		pass_over(g, id, view);
	return g->error == 0 && !batch_full(g->set);
}

static void
catch_up_begin(struct update_group *g)
{
	/* The cursor stays pinned until the end, and holds the tombstones: the id of an advertised destination must not become another prefix. */
	g->reach_back = (uint32_t)journal_resume(g->set->journal, g->cursor);
	g->owed_at = 0;
	g->stats.lapped++;
	windows_arrive(g, true);
	g->catch_up = CATCH_UP_ANNOUNCE;
	g->set->news.none = UINT64_MAX;
	g->bulk_held = false;
	g->run = 0;
	walk_begin_all(&g->catch_up_walk, &g->table);
}

/* After each batch of the journal: the second walk begins when no withdrawal waits. */
static void
catch_up_settle(struct update_group *g)
{
	if (g->catch_up != CATCH_UP_READ || !journal_settled(g->cursor))
		return;
	g->upto = (uint32_t)journal_position(g->cursor);
	g->catch_up = CATCH_UP_WITHDRAW;
	walk_begin_all(&g->catch_up_walk, &g->table);
}

static void
catch_up_slice(struct update_group *g, uint64_t deadline_ns)
{
	walk_visit *visit = g->catch_up == CATCH_UP_ANNOUNCE ? visit_announce : visit_withdraw;

	bool more = walk_slice(&g->catch_up_walk, WALK_IDS, deadline_ns, now_ns, visit, g);

	windows_look(g);
	if (more || g->error != 0)
		return;
	if (g->catch_up == CATCH_UP_ANNOUNCE) {
		g->catch_up = CATCH_UP_READ;
		catch_up_settle(g);
	} else {
		g->catch_up = CATCH_UP_NONE;
	}
}

/* The id of all shards. */
static struct dest_id
entry_id(const struct update_group *g, const struct journal_entry *e)
{
	return (struct dest_id){shards_id(&g->set->shards, e->shard, e->dest.v)};
}

/* Takes one entry. A change may be early; a withdrawal, also to a new source, only where the journal allows it. */
static void
journal_take(struct update_group *g, const struct journal_entry *e, const struct dest_view *view)
{
	struct dest_id id = entry_id(g, e);
	struct route_key k;
	struct offer o;
	bool may = true;
	int err;

	key_copy(&k, view);
	err = offer_get(g, id, view, &o);
	if (err < 0) {
		g->error = err;
		return;
	}
	if (offer_withdraws(g, id, &o)) {
		owed_learn(g);
		may = journal_may_withdraw(g->cursor, e, view);
	}
	if (may)
		owed_clear(g, id);
	else
		owed_add(g, id);
	g->set->live = !e->bulk;
	if (!offer_none(&o) || may)
		change_apply(g, id, &k, &o, false, may);
	g->set->live = false;
}

/*
 * No route is advertised, and the rules allow no route: destinations need not be evaluated. When the rules change, a walk over all destinations follows.
 */
static bool
is_silent(const struct update_group *g)
{
	return rules_silent(&g->rules) && !g->planned && g->catch_up == CATCH_UP_NONE &&
	       g->deferred == 0 && adj_rib_out_count(g->out) == 0;
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
 * The end of the next run of a group. With several shards a run ends where all parts of the UPDATEs before are in the journal, and is no longer than a
 * batch.
 */
static uint64_t
part_end(const struct update_group *g)
{
	const struct update_groups *s = g->set;
	uint64_t position = journal_position(g->cursor), end = groups_end(s), next = end;
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

/* True if the group has to read an entry. Entries of other tables are passed, maybe later. */
static bool
journal_holds(const struct update_group *g)
{
	return !group_passes(g) ||
	       journal_newest_of(g->set->journal, g->rules.table) > journal_position(g->cursor);
}

static bool
journal_unread(const struct update_group *g)
{
	return journal_position(g->cursor) < groups_end(g->set) && journal_holds(g);
}

/* The journal is not read until rest_ns. Marks and walks are not held up. */
static bool
journal_rests(const struct update_group *g)
{
	uint64_t position = journal_position(g->cursor);

	if (!g->set->loading || g->kind != WALK_NONE || g->catch_up != CATCH_UP_NONE)
		return false;
	return position >= g->due && g->set->now_ns < g->rest_ns &&
	       journal_head(g->set->journal) - position < REST_ENTRIES;
}

uint64_t
stream_rest_ns(const struct update_group *g)
{
	return journal_rests(g) && journal_head(g->set->journal) != journal_position(g->cursor)
		       ? g->rest_ns
		       : 0;
}

/* All entries up to the head are due now; then the journal rests. */
static void
journal_begin(struct update_group *g)
{
	uint64_t position = journal_position(g->cursor), head = part_end(g);

	if (position < g->due || position >= head)
		return;
	g->due = head;
	rules_run_end(g->set); /* cached peers must not be older than the head */
	g->rest_ns = g->set->now_ns + REST_NS;
}

/* With several shards, the rest of the run may have further parts of the same UPDATEs. */
static bool
holds_parts(const struct update_group *g)
{
	return g->set->shards.count > 1 && g->set->change_count + g->set->quick_count > 0 &&
	       journal_position(g->cursor) < g->due && journal_reads_again(g->cursor) == 0;
}

/* ---- entries of a window ---- */

/* An entry without a copy of the destination. */
static void
entry_look(struct update_group *g, const struct journal_entry *e) RUNS_ON(role_session)
{
	struct dest_view view;

	if (!dest_peek_best(g->table.at[e->shard], e->dest, &view))
		return; /* the id is free: no group has an interest */
	journal_take(g, e, &view);
}

static void
entry_take(struct update_group *g, const struct window *w, const struct window_entry *entry,
	const struct journal_entry *e)
{
	struct dest_view view;

	window_view(entry, &view);
	g->set->from = entry->path != WINDOW_NONE ? &w->path[entry->path] : NULL;
	journal_take(g, e, &view);
	g->set->from = NULL;
	if (!w->copied)
		windows_look(g);
}

/* True if the group need not look at the entry: the best path is unchanged, or an earlier entry of the run has brought all changes. */
static bool
entry_skips(const struct update_group *g, const struct window *w, const struct window_entry *entry)
{
	const struct journal_entry e = {.sequence = w->first + entry->at};

	if (!entry->aside && !(entry->repeated && g->run_whole))
		return false;
	return !journal_awaits(g->cursor, &e) ||
	       (g->owed_known && !bits_has(&g->owed, entry->dest));
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
	if (entry_skips(g, w, entry))
		return;
	if (entry->unread)
		entry_prefetch_dest(g, entry, record);
	adj_rib_out_prefetch(g->out, entry->dest, record);
	if (entry->path != WINDOW_NONE)
		adj_record_prefetch(g->set->records, w->path[entry->path].accepted, record);
}

/*
 * Takes the other entries in the order of the journal. Returns the sequence of the last entry. An unread entry shows the destination as the destination is now,
 * newer than the copies; so no copy of that destination may follow.
 */
static uint64_t
window_take(struct update_group *g, const struct window *w, uint64_t after, uint64_t upto)
	RUNS_ON(role_session)
{
	for (unsigned i = 0; i < AHEAD_ENTRIES; i++)
		entry_prefetch(g, w, i, false);
	for (unsigned i = 0; i < AHEAD_RECORDS; i++)
		entry_prefetch(g, w, i, true);
	for (unsigned i = 0; i < w->count; i++) {
		const struct window_entry *entry = &w->entry[i];

		entry_prefetch(g, w, i + AHEAD_ENTRIES, false);
		entry_prefetch(g, w, i + AHEAD_RECORDS, true);
		if (g->set->windows.done[i])
			continue;
		const struct journal_entry e = {.sequence = w->first + entry->at,
			.table = w->table,
			.shard = entry->shard,
			.aside = entry->aside,
			.bulk = entry->bulk,
			.dest = shards_local(&g->set->shards, entry->dest)};

		if (e.sequence <= after || entry_skips(g, w, entry))
			continue;
		if (e.sequence > upto)
			break;
		if (entry->unread || window_is_old(g, w, entry->dest)) {
			windows_look_at(g, entry->dest);
			entry_look(g, &e);
		} else {
			entry_take(g, w, entry, &e);
		}
		if (g->error != 0 || batch_full(g->set))
			return e.sequence;
	}
	return upto;
}

/* The entry of the last change of a destination of `owed`. If the last change comes after the second reading: an earlier entry, so a withdrawal waits. */
static struct journal_entry
owed_entry(const struct update_group *g, struct dest_id id, const struct dest_view *view)
{
	const struct journal *j = g->set->journal;
	uint64_t last = journal_reads_again(g->cursor);
	uint32_t newer = view->sequence - (uint32_t)last, older = (uint32_t)last - view->sequence;
	bool waits = newer != 0 && newer <= journal_newest(j) - last;

	return (struct journal_entry){.sequence = waits ? last : last - older,
		.table = g->rules.table,
		.shard = (uint8_t)shards_index(&g->set->shards, id),
		.bulk = journal_bulk(j) > journal_position(g->cursor),
		.dest = shards_local(&g->set->shards, id)};
}

/*
 * The second reading (docs/decisions/0002): visits the destinations of `owed` instead of entries, because the ring may have overwritten the entries. False: many
 * destinations, and bulk waits for the members.
 */
static bool
owed_gather(struct update_group *g) RUNS_ON(role_session)
{
	struct journal *j = g->set->journal;
	struct dest_view view;
	struct dest_id id;

	if (journal_evicted(g->cursor))
		g->error = -ESTALE;
	if (g->error != 0 || (g->bulk_held && g->owed.count > BATCH_CHANGES))
		return false;
	for (unsigned i = 0; bits_next(&g->owed, &g->owed_at, &id); i++) {
		const struct shards *s = &g->set->shards;

		windows_look_at(g, id);
		if (dest_peek_best(g->table.at[shards_index(s, id)], shards_local(s, id), &view)) {
			struct journal_entry e = owed_entry(g, id, &view);

			journal_take(g, &e, &view);
		} else {
			owed_clear(g, id); /* the id is free: no group has an interest */
		}
		if (g->error != 0)
			return false;
		if (batch_full(g->set) || i >= WINDOW_ENTRIES)
			return true;
	}
	journal_advance(j, g->cursor, journal_reads_again(g->cursor));
	windows_arrive(g, false);
	return true;
}

/* Reads the next entries of the journal, up to `end`. False: no entry was taken. */
static bool
window_gather(struct update_group *g, uint64_t end) RUNS_ON(role_session)
{
	uint64_t after = journal_position(g->cursor), upto;
	struct window *w;
	int err;

	if (g->owed_known && journal_reads_again(g->cursor) != 0)
		return owed_gather(g);
	w = window_get(g, end, &err);
	if (err == -EOVERFLOW)
		catch_up_begin(g);
	else if (err < 0)
		g->error = err;
	if (w == NULL)
		return false;
	upto = g->bulk_held && w->bulk <= w->last ? w->bulk - 1 : w->last;
	if (upto <= after)
		return false;
	quick_window(g, w, after, upto);
	if (g->error == 0)
		upto = window_take(g, w, after, upto);
	if (g->error != 0)
		return false;
	journal_advance(g->set->journal, g->cursor, upto);
	windows_arrive(g, false);
	if (journal_position(g->cursor) < upto && !g->owed_known)
		windows_look(g); /* entries are read a second time: now */
	return true;
}

static void
journal_gather(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	if (is_silent(g)) {
		g->run = 0;
		g->owed_at = 0;
		journal_advance(g->set->journal, g->cursor, journal_head(g->set->journal));
		windows_arrive(g, false);
		return;
	}
	if (journal_rests(g))
		return;
	journal_begin(g);
	while (!batch_full(g->set) && !journal_rests(g)) {
		uint64_t end = g->set->shards.count > 1 ? g->due : groups_end(g->set);

		if (!window_gather(g, end))
			return;
		catch_up_settle(g);
		if (g->catch_up == CATCH_UP_WITHDRAW ||
			(now_ns() >= deadline_ns && !holds_parts(g)))
			return;
	}
}

/* ---- live changes before bulk ---- */

/* Holds ids until every member has passed the stream. Without a free cursor, a member is disconnected when falling behind. */
static void
tail_need(struct update_group *g)
{
	if (g->first != g->last && g->tail == NULL)
		(void)journal_hold(g->set->journal, g->cursor, &g->tail);
}

static uint64_t bulk_max(const struct update_group *g);

/*
 * True if bulk entries are in front of the live changes. Without bulk the group reads the changes soon. A paused group joins changes, and the stream of a group
 * whose members do not read stays short.
 */
static bool
live_waits(const struct update_group *g)
{
	return g->error == 0 && !g->frozen && !g->paused && !is_silent(g) && journal_holds(g) &&
	       (g->ready_count > 0 || g->behind_count > 0 || g->kept < bulk_max(g)) &&
	       (g->catch_up == CATCH_UP_ANNOUNCE || g->catch_up == CATCH_UP_WITHDRAW ||
		       journal_bulk(g->set->journal) > journal_position(g->cursor));
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
	uint64_t passed = journal_passed(g->cursor), version = g->version;

	while (g->kept >= s->c.kept_max)
		if (!slowest_fall_behind(g, deadline_ns) || now_ns() >= deadline_ns)
			return false;
	tail_need(g);
	journal_pin(g->cursor);
	s->live = true;
	for (unsigned i = 0; i < s->news.count && g->error == 0; i++) {
		const struct journal_entry *e = &s->news.at[i];
		struct dest_id id = entry_id(g, e);
		struct route_key k;
		struct dest_view view;
		struct offer o;

		if (e->table.v != g->rules.table.v || e->sequence <= journal_position(g->cursor) ||
			!dest_peek_best(g->table.at[e->shard], e->dest, &view))
			continue;
		/* a further route could come before the withdrawal that makes room for it */
		if (group_limited(g) && adj_rib_out_get(g->out, id).record.v == 0)
			continue;
		windows_look_at(g, id);
		g->error = offer_get(g, id, &view, &o);
		if (g->error != 0 || offer_none(&o))
			continue;
		if (offer_withdraws(g, id, &o))
			pass_over(g, id, &view);
		key_copy(&k, &view);
		change_apply(g, id, &k, &o, false, false);
		if (batch_full(s))
			(void)changes_finish(g, passed);
	}
	(void)changes_finish(g, passed);
	s->live = false;
	tail_need(g);
	if (g->catch_up == CATCH_UP_NONE)
		journal_unpin(g->cursor);
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

/* Bulk waits while the stream holds this much for the slowest member. */
static uint64_t
bulk_max(const struct update_group *g)
{
	return g->set->c.kept_max / 8 + 1;
}

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

/*
 * Bulk, of a walk or of the journal, may wait for its slowest members for patience_ns plus half of the time since the walk began, or since the group
 * last had no bulk.
 */
static bool
walk_patience(struct update_group *g, uint64_t now)
{
	uint64_t waited;

	if (g->blocked_ns == 0)
		g->blocked_ns = now;
	waited = g->waited_ns + (now - g->blocked_ns);
	return waited <= g->set->c.patience_ns + (now - g->walk_began_ns) / 2;
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
		g->few_since_ns = 0;
		return false;
	}
	if (g->few_since_ns == 0) {
		g->few_since_ns = g->few_look_ns = now;
		g->few_ns = 0;
	}
	others = g->few_since_ns - g->blocked_ns;
	step = now - g->few_look_ns;
	g->few_ns += step < RETRY_NS ? step : FEW_RETRY_NS;
	g->few_look_ns = now;
	return g->few_ns > FEW_NS + FEW_FACTOR * others;
}

/* Time until the next check: half of the time so far, or half of the time that the other members needed. */
static uint64_t
walk_retry_ns(const struct update_group *g, uint64_t now)
{
	uint64_t ns = ((g->few_since_ns != 0 ? g->few_since_ns : now) - g->blocked_ns) / 2;

	if (ns > RETRY_NS)
		ns = RETRY_NS;
	if (ns < FEW_RETRY_NS)
		ns = FEW_RETRY_NS;
	return ns < g->set->c.patience_ns ? ns : g->set->c.patience_ns;
}

static void
walk_unblock(struct update_group *g)
{
	g->few_since_ns = 0;
	if (g->blocked_ns != 0)
		g->waited_ns += now_ns() - g->blocked_ns;
	g->blocked_ns = 0;
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
		if (walk_patience(g, now) && !few_are_late(g, now)) {
			g->retry_ns = now + walk_retry_ns(g, now);
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
	return g->blocked_ns != 0 && g->kept >= bulk_max(g) && now_ns() < g->retry_ns;
}

static void
walk_gather(struct update_group *g, uint64_t deadline_ns)
{
	if (g->default_due) {
		struct route_key k = {.prefix.afi = (uint8_t)family_afi(g->rules.family)};
		struct offer o;
		int err = rules_default(g, &o);

		g->default_due = false;
		if (err == 0)
			err = offer_compare(g, DEST_DEFAULT, &o);
		if (err < 0)
			g->error = err;
		else
			change_apply(g, DEST_DEFAULT, &k, &o, g->kind == WALK_SEND, true);
	}
	if (is_silent(g))
		g->walk.next = g->walk.end;
	if (!batch_full(g->set) && g->error == 0)
		walk_slice(&g->walk, WALK_IDS, deadline_ns, now_ns, visit_walk, g);
	windows_look(g);
}

static bool
walk_runs(const struct update_group *g)
{
	return g->kind != WALK_NONE && (g->default_due || !walk_done(&g->walk));
}

/* True if bulk entries of the journal wait for the members. */
static bool
bulk_waits(struct update_group *g, uint64_t deadline_ns)
{
	struct journal *j = g->set->journal;
	uint64_t position = journal_position(g->cursor);
	bool bulk = journal_bulk(j) > position;

	if (g->kind == WALK_NONE && (!bulk || !g->bulk)) {
		g->walk_began_ns = now_ns();
		g->blocked_ns = g->waited_ns = g->few_since_ns = 0;
	}
	g->bulk = bulk;
	return bulk && !journal_pressed(j) && journal_head(j) - position < BULK_HELD_MAX &&
	       !bulk_may_run(g, deadline_ns);
}

/* Fills the batch. The journal and a walk alternate. */
static void
gather(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	while (g->kept >= g->set->c.kept_max)
		if (!slowest_fall_behind(g, deadline_ns) || now_ns() >= deadline_ns)
			return;
	if (g->catch_up == CATCH_UP_ANNOUNCE || g->catch_up == CATCH_UP_WITHDRAW) {
		catch_up_slice(g, deadline_ns);
		return;
	}
	if (g->catch_up == CATCH_UP_READ) {
		journal_gather(g, deadline_ns);
		return;
	}
	g->walk_turn = !g->walk_turn;
	if (g->walk_turn && walk_runs(g) && bulk_may_run(g, deadline_ns)) {
		walk_gather(g, deadline_ns);
		return;
	}
	g->bulk_held = bulk_waits(g, deadline_ns);
	journal_gather(g, deadline_ns);
}

/* ---- walks ---- */

/* A running walk uses the new rules from here on. A walk of differences is owed for the ids before. */
void
policy_walk_owe(struct update_group *g)
{
	uint32_t end = shards_limit(&g->table);

	rules_forget(g);
	if (g->kind != WALK_NONE) {
		g->walk.end =
			end; /* the journal brought younger destinations, under the old rules */
		end = g->walk.next;
	}
	if (end == 0)
		end = 1; /* for the default route that we originate */
	if (end > g->policy_end)
		g->policy_end = end;
}

/* Finds the next place where the walk ends for a member. */
static void
walk_late_find(struct update_group *g)
{
	g->late_at = 0;
	for (const struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->walk == g->serial && m->upto != 0 &&
			(g->late_at == 0 || m->upto < g->late_at))
			g->late_at = m->upto;
	}
}

static void
walk_start(struct update_group *g) RUNS_ON(role_session)
{
	/* an owed policy walk becomes a part of this walk */
	if (g->next_end < g->policy_end)
		g->next_end = g->policy_end;
	g->serial++;
	g->waiting = 0;
	g->kind = WALK_SEND;
	g->walk_unsent = false;
	g->end_after = 0;
	g->default_due = true;
	/* The walk sends every route by the present policy: no walk of differences is owed any more. */
	g->policy_within = g->policy_end > 0;
	g->policy_end = 0;
	g->walk_began_ns = now_ns();
	g->blocked_ns = g->waited_ns = g->few_since_ns = 0;
	g->stats.walks++;
	walk_begin_all(&g->walk, &g->table);
	if (!g->next_whole && g->next_end < g->walk.end)
		g->walk.end = g->next_end;
	g->next_whole = false;
	g->next_end = 0;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->walk == g->serial && m->state == MEMBER_JOINING)
			member_enter(m);
	}
	walk_late_find(g);
	stream_mark(g, MESSAGE_WALK_BEGIN, PEER_SELF);
}

static void
policy_walk_start(struct update_group *g)
{
	g->kind = WALK_POLICY;
	g->default_due = true;
	g->walk_began_ns = now_ns();
	g->blocked_ns = g->waited_ns = g->few_since_ns = 0;
	g->stats.policy_walks++;
	walk_begin_all(&g->walk, &g->table);
	if (g->walk.end > g->policy_end)
		g->walk.end = g->policy_end;
	g->policy_end = 0;
	/* the journal brings the withdrawals of destinations without a path */
	g->end_after = group_limited(g) ? journal_reserved(g->set->journal) : 0;
}

/*
 * A walk met routes whose attributes cannot be made now: of changed destinations, which the journal will bring, or kept by a plan. In the second case the
 * walk runs again when the plan has ended.
 */
static bool
routes_await(const struct update_group *g)
{
	return journal_passed(g->cursor) < g->end_after ||
	       (g->walk_unsent && g->set->plan[g->rules.family].peer_count > 0);
}

/*
 * Routes that a limit keeps back are due after all withdrawals of the commit. Within a plan they are for its end, and before another policy walk for the
 * end of that walk.
 */
static bool
rest_due(const struct update_group *g)
{
	return g->kind == WALK_POLICY && g->walk_short && g->policy_end == 0 &&
	       g->set->plan[g->rules.family].peer_count == 0;
}

static bool
walk_awaits(const struct update_group *g)
{
	return !walk_runs(g) &&
	       (g->kind == WALK_SEND ? routes_await(g)
				     : rest_due(g) && journal_passed(g->cursor) < g->end_after);
}

/* EoRR would remove routes before the journal allows the withdrawal. */
static bool
withdrawals_await(const struct update_group *g)
{
	return g->deferred > 0 && journal_head(g->set->journal) != journal_position(g->cursor);
}

/*
 * Ends the walk for late members: the walk has passed the destination where the initial table of the member began, within the previous walk. True: the
 * walk ended for a member.
 */
static bool
walk_late_end(struct update_group *g) RUNS_ON(role_session)
{
	if (g->kind != WALK_SEND || g->late_at == 0 || g->default_due ||
		g->walk.next < g->late_at || routes_await(g) || withdrawals_await(g))
		return false;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->walk != g->serial || m->upto == 0 || m->upto > g->walk.next)
			continue;
		m->upto = 0;
		stream_mark(g, MESSAGE_WALK_END, m->id);
	}
	walk_late_find(g);
	return true;
}

/* Between two batches: ends or begins a walk. True: a walk ended or began. */
static bool
walk_step(struct update_group *g) RUNS_ON(role_session)
{
	bool whole;

	if (g->catch_up != CATCH_UP_NONE)
		return false;
	if (walk_late_end(g))
		return true;
	if (walk_runs(g))
		return false;
	if (g->kind == WALK_NONE) {
		if (g->waiting > 0)
			walk_start(g);
		else if (g->policy_end > 0)
			policy_walk_start(g);
		else
			return false;
		return true;
	}
	if (g->kind == WALK_SEND && withdrawals_await(g))
		return false;
	/* EoRR would remove the routes that could not be sent; and a limit needs the room of the withdrawals. */
	if (walk_awaits(g))
		return false;
	if (g->kind == WALK_SEND && g->walk_unsent) {
		g->walk_unsent = false;
		walk_begin_all(&g->walk, &g->table);
		return true;
	}
	if (rest_due(g)) {
		g->walk_short = false;
		g->walk_rest = g->default_due = true;
		walk_begin_all(&g->walk, &g->table);
		return true;
	}
	if (g->kind == WALK_SEND)
		stream_mark(g, MESSAGE_WALK_END, PEER_SELF);
	if (g->kind == WALK_POLICY || g->policy_within)
		stream_mark(g, MESSAGE_POLICY_END, PEER_SELF);
	whole = g->kind == WALK_SEND && g->walk_short;
	g->walk_short = g->walk_short && (whole || g->policy_end > 0);
	g->walk_rest = g->policy_within = false;
	g->kind = WALK_NONE;
	if (whole)
		policy_walk_owe(g);
	return true;
}

/* ---- production ---- */

/* The journal is not read until all groups have read the windows of the round. */
static bool
rounds_wait(const struct update_group *g)
{
	uint64_t until = windows_await_ns(g);

	return until != 0 && now_ns() < until;
}

bool
stream_works(const struct update_group *g)
{
	if (g->error != 0)
		return false;
	if (g->frozen)
		return true;
	if (g->catch_up != CATCH_UP_NONE || split_pending(g) || settle_pending(g) ||
		(journal_unread(g) && !journal_rests(g) && !(g->bulk_held && walk_blocked(g)) &&
			!rounds_wait(g)))
		return true;
	if (g->kind == WALK_NONE)
		return g->policy_end > 0;
	if (walk_awaits(g))
		return false;
	return !walk_runs(g) || !walk_blocked(g);
}

bool
stream_pending(const struct update_group *g)
{
	return stream_works(g) || (g->error == 0 && g->kind == WALK_NONE && g->waiting > 0);
}

/* The positions of a group: any kind of progress changes one of them. */
struct positions {
	uint64_t journal, owed, walk, catch_up_walk, catch_up, default_due;
};

static struct positions
positions_of(const struct update_group *g)
{
	return (struct positions){.journal = journal_position(g->cursor),
		.owed = g->owed_at,
		.walk = g->walk.next,
		.catch_up_walk = g->catch_up_walk.next,
		.catch_up = g->catch_up,
		.default_due = g->default_due};
}

bool
stream_produce(struct update_group *g, uint64_t deadline_ns)
{
	struct positions before, now;
	uint64_t passed;
	bool done, quick;

	if (g->error != 0)
		return false;
	tail_need(g); /* marks that were added since */
	if (split_run(g))
		return true;
	if (g->frozen)
		return false;
	if (walk_step(g) || settle_step(g)) {
		g->version++;
		return true;
	}
	before = positions_of(g);
	passed = journal_passed(g->cursor);
	journal_pin(g->cursor);
	gather(g, deadline_ns);
	now = positions_of(g);
	done = g->set->change_count + g->set->quick_count > 0 ||
	       memcmp(&now, &before, sizeof(now)) != 0;
	quick = g->set->quick_count > 0;
	/* the last term: members that are behind wait for a place in the journal */
	if (!changes_finish(g, passed) && (quick || (done && g->behind_count > 0)))
		g->version++;
	g->set->quick_count = 0;
	tail_need(g);
	if (g->catch_up == CATCH_UP_NONE)
		journal_unpin(g->cursor);
	return done;
}
