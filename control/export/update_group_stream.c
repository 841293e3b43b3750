/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream is made in batches. A batch gathers changes, from the journal or from a slice of a walk; compares the old and the new route of each
 * destination once; and packs the messages once for all members, announcements before withdrawals.
 *
 * When a route (attributes a1 of source m1) becomes (a2, m2), a2 is sent to all members but m2, and a withdrawal to m2 alone. When a1 = a2, a2 is sent to m1
 * alone.
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"

#include <errno.h>
#include <string.h>

#define JOURNAL_READ 512u
/* Distance in entries between a stage of the prefetch and the evaluation for a group. */
#define AHEAD_ENTRIES 12u
#define AHEAD_RECORDS 6u
#define LOOKED_BITS 4096u
#define WALK_IDS 16384u /* ids in one slice: in a policy walk most ids cause no change */
#define SLOT_NONE UINT16_MAX
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
static_assert(BATCH_ENTRIES < SLOT_NONE, "indexes fit the hash");

/* ---- the stream as a list ---- */

static uint64_t
message_cost(const struct message *m)
{
	return sizeof(*m) + m->id_count * sizeof(uint32_t) + m->len;
}

/*
 * Writes a message for the only member of the group, which has passed the stream and has room, into the output of the member. Most groups with a policy of
 * their own have one member. False: the message must be appended.
 */
static bool
stream_bypass(struct update_group *g, const struct message *head, const uint8_t *octets)
	RUNS_ON(role_session)
{
	struct update_member *m = g->set->direct;
	struct output *o = g->set->direct_output;

	if (m == NULL || m->group != g || g->member_count != 1 || m->state != MEMBER_STREAM ||
		g->first != g->last || head->len == 0 || head->len > o->room ||
		!labels_installed(g))
		return false;
	if (message_is_for(m, head))
		member_write(m, head, octets, o);
	return true;
}

int
stream_append(struct update_group *g, const struct message *head, const uint32_t *ids,
	const uint8_t *octets) RUNS_ON(role_session)
{
	size_t ids_size = head->id_count * sizeof(uint32_t);
	struct message *m;

	if (g->stream_count == 0 || stream_bypass(g, head, octets))
		return 0;
	m = arena_alloc(g->set->c.arena, sizeof(*m) + ids_size + head->len);
	if (m == NULL)
		return -ENOMEM;
	*m = *head;
	m->next = NULL;
	m->standing = 0;
	m->labels = g->labels_asked;
	m->tick = tick_of(g->set->now_ns);
	if (head->len > 0) {
		memcpy(m->data, ids, ids_size);
		memcpy(m->data + ids_size, octets, head->len);
	}
	if (g->last != NULL)
		g->last->next = m;
	else
		g->first = m;
	g->last = m;
	g->kept += message_cost(m);
	return 0;
}

void
stream_trim(struct update_group *g)
{
	while (g->first != g->last && g->first->standing == 0) {
		struct message *m = g->first;

		g->first = m->next;
		if (g->front == m)
			g->front = g->first;
		g->kept -= message_cost(g->first);
		arena_free(g->set->c.arena, m);
	}
	if (g->tail == NULL)
		return;
	if (g->first == g->last) {
		journal_unsubscribe(g->set->journal, g->tail);
		g->tail = NULL;
	} else {
		journal_advance(g->set->journal, g->tail, g->first->next->passed);
	}
}

static void
mark_put(struct update_group *g, enum message_kind kind, struct peer_id who, uint32_t walk)
	RUNS_ON(role_session)
{
	struct message head = {.kind = (uint8_t)kind,
		.who = who,
		.walk = walk,
		.passed = journal_passed(g->cursor)};
	int err = stream_append(g, &head, NULL, NULL);

	if (err < 0)
		g->error = err;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->state == MEMBER_BEHIND)
			message_miss(m, &head);
	}
}

/* Puts a mark into the stream, also for members behind. */
void
stream_mark(struct update_group *g, enum message_kind kind, struct peer_id who)
{
	mark_put(g, kind, who, g->serial);
}

void
stream_settled(struct update_group *g, const struct update_member *m)
{
	mark_put(g, MESSAGE_SETTLED, m->id, m->settle_asked);
}

/* ---- gathering ---- */

/* Clears a hash with `count` entries; a batch of live changes has few. `home`: where the search for entry i begins. */
static void
hash_clear(const struct update_groups *s, uint16_t *hash, unsigned count,
	unsigned (*home)(const struct update_groups *s, unsigned i))
{
	if (count > s->hash_mask / 64) {
		memset(hash, 0xff, (s->hash_mask + 1) * sizeof(hash[0]));
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned h = home(s, i);

		while (hash[h] != i)
			h = (h + 1) & s->hash_mask;
		hash[h] = SLOT_NONE;
	}
}

static unsigned
change_home(const struct update_groups *s, struct dest_id id)
{
	return (unsigned)hash_word(id.v) & s->hash_mask;
}

static unsigned
bucket_home(const struct update_groups *s, uint16_t made, struct peer_id who, uint8_t kind)
{
	return (unsigned)hash_word((uint64_t)made << 32 | (uint64_t)who.v << 8 | kind) &
	       s->hash_mask;
}

static unsigned
home_of_change(const struct update_groups *s, unsigned i)
{
	return change_home(s, s->change[i].dest);
}

static unsigned
home_of_bucket(const struct update_groups *s, unsigned i)
{
	return bucket_home(s, s->bucket[i].made, s->bucket[i].who, s->bucket[i].kind);
}

static unsigned
home_of_made(const struct update_groups *s, unsigned i)
{
	return (unsigned)s->made[i].hash & s->hash_mask;
}

void
batch_reset(struct update_groups *s)
{
	hash_clear(s, s->made_hash, s->made_count, home_of_made);
	hash_clear(s, s->change_hash, s->change_count, home_of_change);
	hash_clear(s, s->bucket_hash, s->bucket_count, home_of_bucket);
	s->change_count = s->entry_count = s->bucket_count = s->made_count = 0;
	s->quick_count = 0;
	s->batch_octets = 0;
	s->batch_number++;
}

static bool
batch_full(const struct update_groups *s)
{
	return s->change_count + s->quick_count >= s->c.batch || s->made_count > s->hash_mask / 4 ||
	       s->batch_octets >= BATCH_OCTETS;
}

/* The change of `id` in the batch. NULL: there is none; *h is its place in the hash. */
static struct change *
batch_find(struct update_groups *s, struct dest_id id, unsigned *h)
{
	*h = change_home(s, id);
	for (; s->change_hash[*h] != SLOT_NONE; *h = (*h + 1) & s->hash_mask) {
		struct change *c = &s->change[s->change_hash[*h]];

		if (c->dest.v == id.v)
			return c;
	}
	return NULL;
}

/*
 * Takes over the reference of `old`. `made`: the attributes of the present route, or MADE_NONE if nothing is announced. The route is removed, unless
 * change_present() follows.
 */
static struct change *
batch_touch(struct update_group *g, struct dest_id id, const struct route_key *k,
	struct adj_route old, uint16_t made, bool walk, bool may_withdraw)
{
	struct update_groups *s = g->set;
	unsigned h;
	struct change *c = batch_find(s, id, &h);

	if (c != NULL) {
		c->walk |= walk;
		c->live |= s->live;
		c->may_withdraw = may_withdraw;
		if (made != MADE_NONE)
			c->made = made;
		c->differs = c->present = false;
		adj_record_put(s->records, old.record); /* the route from before the batch counts */
		return c;
	}
	s->change_hash[h] = (uint16_t)s->change_count;
	c = &s->change[s->change_count++];
	*c = (struct change){.key = *k,
		.walk = walk,
		.may_withdraw = may_withdraw,
		.live = s->live,
		.made = made,
		.dest = id,
		.old = old};
	return c;
}

static void
change_present(struct change *c, struct peer_id source, uint32_t label)
{
	c->present = true;
	c->source = source;
	c->label = label;
}

/* True if a member in the stream, the source of the present route, is still due a withdrawal of the earlier route (also by this batch). */
static bool
is_deferred(struct update_group *g, struct peer_id peer, struct dest_id id)
{
	const struct update_member *m = member_find(g, peer);
	const struct change *c;
	unsigned h;

	if (m == NULL || m->state != MEMBER_STREAM)
		return false;
	c = batch_find(g->set, id, &h);
	return (c != NULL && !c->may_withdraw) || bits_has(&m->gone, id);
}

/* Withdraws the route of a destination. */
static void
route_remove(struct update_group *g, struct dest_id id, const struct route_key *k, bool walk,
	bool may_withdraw)
{
	struct adj_route old;

	if (adj_rib_out_get(g->out, id).record.v == 0)
		return;
	(void)adj_rib_out_set(g->out, id, (struct adj_route){0}, &old);
	batch_touch(g, id, k, old, MADE_NONE, walk, may_withdraw);
}

/* Stores the path of an offer. The reference of the old route passes to the caller. */
static bool
route_store(struct update_group *g, struct dest_id id, const struct offer *o, struct adj_route *old)
{
	struct adj_route r = {.edit = o->edit, .label = o->label};

	g->error = offer_record(g, o, &r.record);
	if (g->error == 0)
		g->error = adj_rib_out_set(g->out, id, r, old);
	return g->error == 0;
}

/* The members have the attributes of the offer. Sends them again where the batch must. */
static void
route_same(struct update_group *g, struct dest_id id, const struct route_key *k, struct offer *o,
	bool walk, bool may_withdraw)
{
	struct adj_route old = {0};
	int err;

	if (!offer_is(g, o, adj_rib_out_get(g->out, id))) {
		if (!route_store(g, id, o, &old))
			return;
		adj_record_put(g->set->records, old.record);
	}
	if (!walk && !(may_withdraw && is_deferred(g, o->path.source, id)))
		return;
	if (!offer_make(g, o, &err)) {
		g->error = err;
		return;
	}
	change_present(
		batch_touch(g, id, k, adj_rib_out_hold(g->out, id), o->made, walk, may_withdraw),
		o->path.source, o->label);
}

/* Sends the advertised route to the members of the walk. False: the attributes cannot be made now. */
static bool
route_resend(
	struct update_group *g, struct dest_id id, const struct route_key *k, bool may_withdraw)
{
	struct adj_route r = adj_rib_out_get(g->out, id);
	struct offer o = {.made = MADE_NONE};
	int err = 0;

	if (!route_again(g, id, r, &o) || !offer_make(g, &o, &err)) {
		g->error = err;
		return false;
	}
	change_present(
		batch_touch(g, id, k, adj_rib_out_hold(g->out, id), o.made, true, may_withdraw),
		o.path.source, o.label);
	return true;
}

/* Within a plan the advertised route stays, though the rules refuse the best path. */
static void
route_kept(struct update_group *g, struct dest_id id, const struct route_key *k, bool walk,
	bool may_withdraw)
{
	struct adj_route r = adj_rib_out_get(g->out, id);

	if (walk && !route_resend(g, id, k, may_withdraw))
		g->walk_unsent = true;
	if (may_withdraw && is_deferred(g, route_source(g, r), id))
		change_present(batch_touch(g, id, k, adj_rib_out_hold(g->out, id), MADE_NONE, false,
				       may_withdraw),
			route_source(g, r), r.label);
}

/*
 * Sets the route in Adj-RIB-Out and in the batch. `walk`: also when the route has not changed. `may_withdraw`: the order of the journal allows a
 * withdrawal to the new source.
 */
static void
change_apply(struct update_group *g, struct dest_id id, const struct route_key *k, struct offer *o,
	bool walk, bool may_withdraw)
{
	struct adj_route old;

	if (o->kept)
		route_kept(g, id, k, walk, may_withdraw);
	else if (!o->permit)
		route_remove(g, id, k, walk, may_withdraw);
	else if (o->same)
		route_same(g, id, k, o, walk, may_withdraw);
	else if (route_store(g, id, o, &old)) {
		unsigned before = g->set->change_count;
		struct change *c = batch_touch(g, id, k, old, o->made, walk, may_withdraw);

		change_present(c, o->path.source, o->label);
		c->differs = o->differs && g->set->change_count > before;
	}
	if (__builtin_expect(g->set->tap != NULL, 0))
		trace_change(g, id, k);
}

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

static bool
visit_walk(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	bool walk = g->kind == WALK_SEND, ahead;
	struct route_key k = view_key(view);
	struct offer o;
	int err = offer_get(g, id, view, &o);

	if (err < 0) {
		g->error = err;
		return false;
	}
	ahead = journal_ahead(g, view);
	if (offer_withdraws(g, id, &o))
		journal_passed_over(g->set->journal, g->cursor, view);
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
	struct route_key k = view_key(view);
	struct offer o;
	int err;

	if ((int32_t)(view->sequence - g->reach_back) <= 0)
		return true;
	err = offer_get(g, id, view, &o);
	if (err < 0) {
		g->error = err;
		return false;
	}
	if (offer_withdraws(g, id, &o))
		journal_passed_over(g->set->journal, g->cursor, view);
	if (!offer_none(&o))
		change_apply(g, id, &k, &o, false, false);
	return g->error == 0 && !batch_full(g->set);
}

/* Second walk: withdraws. For a destination that changed later, the journal will bring the last entry. */
static bool
visit_withdraw(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	struct route_key k = view_key(view);
	struct offer o;
	int err;

	if (adj_rib_out_get(g->out, id).record.v == 0)
		return true;
	err = offer_get(g, id, view, &o);
	if (err < 0)
		g->error = err;
	else if ((int32_t)(view->sequence - g->upto) <= 0)
		change_apply(g, id, &k, &o, false, true);
	else if (offer_withdraws(g, id, &o))
		/* the last entry may be `aside`, and the change that removed the route may be lost */
		journal_passed_over(g->set->journal, g->cursor, view);
	return g->error == 0 && !batch_full(g->set);
}

static void
catch_up_begin(struct update_group *g)
{
	/* The cursor stays pinned until the end, and holds the tombstones: the id of an advertised destination must not become another prefix. */
	g->reach_back = (uint32_t)journal_resume(g->set->journal, g->cursor);
	windows_arrive(g, true);
	g->catch_up = CATCH_UP_ANNOUNCE;
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
	struct route_key k = view_key(view);
	struct offer o;
	bool may = true;
	int err;

	err = offer_get(g, id, view, &o);
	if (err < 0) {
		g->error = err;
		return;
	}
	if (offer_withdraws(g, id, &o))
		may = journal_may_withdraw(g->cursor, e, view);
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

/* The groups read the journal up to here. */
static uint64_t
journal_end(const struct update_groups *s)
{
	uint64_t head = journal_head(s->journal);

	return head < s->whole ? head : s->whole;
}

/* Groups pass the entries of other tables without reading them. */
static void
others_pass(struct update_groups *s)
{
	uint64_t end = journal_end(s);

	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		if (g->catch_up == CATCH_UP_NONE && g->behind_count == 0 && !g->frozen &&
			journal_pass(s->journal, g->cursor, g->rules.table, end))
			windows_arrive(g, false);
}

void
update_groups_whole(struct update_groups *s, uint64_t sequence)
{
	if (sequence != UINT64_MAX && sequence != s->whole)
		s->part[s->part_count++ % PARTS_MAX] = sequence;
	s->whole = sequence;
	others_pass(s);
}

/*
 * The end of the next run of a group. With several shards a run ends where all parts of the UPDATEs before are in the journal, and is no longer than a
 * batch.
 */
static uint64_t
part_end(const struct update_group *g)
{
	const struct update_groups *s = g->set;
	uint64_t position = journal_position(g->cursor), end = journal_end(s), next = end;
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

static bool
journal_unread(const struct update_group *g)
{
	return journal_position(g->cursor) < journal_end(g->set);
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
	       journal_position(g->cursor) < g->due;
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
	windows_look(g);
}

/* Destinations that were read after the window was made, by the low bits of the id: a false hit costs a look. */
static bool
looked_has(const uint64_t looked[LOOKED_BITS / 64], struct dest_id id)
{
	return looked[id.v % LOOKED_BITS / 64] >> id.v % 64 & 1;
}

static void
looked_add(uint64_t looked[LOOKED_BITS / 64], struct dest_id id)
{
	looked[id.v % LOOKED_BITS / 64] |= 1ull << id.v % 64;
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
	return !journal_awaits(g->cursor, &e);
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
	uint64_t looked[LOOKED_BITS / 64] = {0};

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
		if (entry->unread || looked_has(looked, entry->dest)) {
			looked_add(looked, entry->dest);
			entry_look(g, &e);
		} else {
			entry_take(g, w, entry, &e);
		}
		if (g->error != 0 || batch_full(g->set))
			return e.sequence;
	}
	return upto;
}

/* Reads the next entries of the journal, up to `end`. False: no entry was taken. */
static bool
window_gather(struct update_group *g, uint64_t end) RUNS_ON(role_session)
{
	uint64_t after = journal_position(g->cursor), upto;
	struct window *w;
	int err;

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
	if (journal_position(g->cursor) < upto)
		windows_look(g); /* entries are read a second time: now */
	return true;
}

static void
journal_gather(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session)
{
	if (is_silent(g)) {
		g->run = 0;
		journal_advance(g->set->journal, g->cursor, journal_head(g->set->journal));
		windows_arrive(g, false);
		return;
	}
	if (journal_rests(g))
		return;
	journal_begin(g);
	while (!batch_full(g->set) && !journal_rests(g)) {
		uint64_t end = g->set->shards.count > 1 ? g->due : journal_end(g->set);

		if (!window_gather(g, end))
			return;
		catch_up_settle(g);
		if (g->catch_up == CATCH_UP_WITHDRAW ||
			(now_ns() >= deadline_ns && !holds_parts(g)))
			return;
	}
}

/* ---- live changes before bulk ---- */

static bool
live_due(const struct update_group *g)
{
	const struct journal *j = g->set->journal;
	uint64_t position = journal_position(g->cursor), head = journal_head(j);
	uint64_t from = g->live_from > position ? g->live_from : position;

	if (head <= from || is_silent(g))
		return false;
	return g->catch_up == CATCH_UP_ANNOUNCE || g->catch_up == CATCH_UP_WITHDRAW ||
	       (journal_bulk(j) > position && (head - position >= g->set->c.live_behind ||
						      g->bulk_held || windows_await_ns(g) != 0));
}

/* Announces live changes before the bulk entries in front of them; withdrawals keep the order. */
static void
live_gather(struct update_group *g)
{
	struct journal_entry e[JOURNAL_READ];
	struct update_groups *s = g->set;
	unsigned room = s->c.batch - s->change_count;
	int n = journal_read_live(
		s->journal, g->cursor, &g->live_from, e, room < JOURNAL_READ ? room : JOURNAL_READ);

	s->live = true;
	for (int i = 0; i < n && g->error == 0; i++) {
		struct dest_id id = entry_id(g, &e[i]);
		struct route_key k;
		struct dest_view view;
		struct offer o;

		if (e[i].table.v != g->rules.table.v ||
			!dest_peek_best(g->table.at[e[i].shard], e[i].dest, &view))
			continue;
		windows_look(g);
		g->error = offer_get(g, id, &view, &o);
		if (g->error != 0 || offer_none(&o))
			continue;
		if (offer_withdraws(g, id, &o))
			journal_passed_over(s->journal, g->cursor, &view);
		k = view_key(&view);
		change_apply(g, id, &k, &o, false, false);
	}
	s->live = false;
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
	if (live_due(g)) {
		live_gather(g);
		if (g->set->change_count > 0)
			return;
	}
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

/* ---- from changes to messages ---- */

static struct bucket *
bucket_of(struct update_groups *s, enum message_kind kind, struct peer_id who, uint16_t made)
{
	struct bucket *b = s->bucket_count > 0 ? &s->bucket[s->bucket_last] : NULL;
	unsigned h;

	if (b != NULL && b->made == made && b->who.v == who.v && b->kind == kind)
		return b;
	h = bucket_home(s, made, who, (uint8_t)kind);
	for (; s->bucket_hash[h] != SLOT_NONE; h = (h + 1) & s->hash_mask) {
		b = &s->bucket[s->bucket_hash[h]];
		if (b->made == made && b->who.v == who.v && b->kind == kind) {
			s->bucket_last = s->bucket_hash[h];
			return b;
		}
	}
	s->bucket_hash[h] = (uint16_t)s->bucket_count;
	s->bucket_last = s->bucket_count;
	b = &s->bucket[s->bucket_count++];
	*b = (struct bucket){.made = made,
		.who = who,
		.kind = (uint8_t)kind,
		.first = ENTRY_NONE,
		.last = ENTRY_NONE};
	return b;
}

/* `made`: the attributes; MADE_NONE: a withdrawal. */
static void
entry_add(struct update_groups *s, enum message_kind kind, struct peer_id who, uint16_t made,
	uint32_t change)
{
	struct bucket *b = bucket_of(s, kind, who, made);
	uint32_t i = s->entry_count++;

	s->entry[i] = (struct entry){change, ENTRY_NONE};
	if (b->first == ENTRY_NONE)
		b->first = i;
	else
		s->entry[b->last].next = i;
	b->last = i;
}

/* A member in the stream. */
static struct update_member *
streaming(const struct update_group *g, struct peer_id id)
{
	struct update_member *m = member_find(g, id);

	return m != NULL && m->state == MEMBER_STREAM ? m : NULL;
}

static bool
deferred_clear(struct update_group *g, struct update_member *m, struct dest_id id)
{
	if (m == NULL || !bits_clear(&m->gone, id))
		return false;
	g->deferred--;
	return true;
}

/* The peer that is the new source must lose the route of the old source: now, or when the order of the journal allows the withdrawal. */
static void
source_withdraw(struct update_group *g, uint32_t i)
{
	struct change *c = &g->set->change[i];
	struct peer_id source = c->source;
	struct update_member *m = streaming(g, source);

	if (m == NULL || !((c->old.record.v != 0 && route_source(g, c->old).v != source.v) ||
				 (g->deferred > 0 && bits_has(&m->gone, c->dest))))
		return;
	if (c->may_withdraw) {
		deferred_clear(g, m, c->dest);
		entry_add(g->set, MESSAGE_ONLY, source, MADE_NONE, i);
	} else if (!bits_has(&m->gone, c->dest)) {
		int err = bits_set(g->set->c.arena, &m->gone, c->dest);

		g->deferred += err == 0;
		if (err < 0)
			m->error = err;
	}
}

/* True if the attributes of the present route differ from those before the batch. */
static bool
change_differs(const struct update_group *g, const struct change *c)
{
	if (!c->present || c->made == MADE_NONE)
		return false;
	return c->again || c->differs || c->old.label != c->label ||
	       !(routes_alike(g, c->old, adj_rib_out_get(g->out, c->dest)) ||
		       route_has_content(g, c->old, g->set->made[c->made].hash));
}

static void
change_announce(struct update_group *g, uint32_t i, bool differs)
{
	struct update_groups *s = g->set;
	struct change *c = &s->change[i];
	struct peer_id from = c->source, before = route_source(g, c->old);

	if (differs) {
		entry_add(s, MESSAGE_ALL_BUT, from, c->made, i);
	} else if (c->made != MADE_NONE) {
		if (before.v != from.v && streaming(g, before) != NULL)
			entry_add(s, MESSAGE_ONLY, before, c->made, i);
		if (c->walk)
			entry_add(s, MESSAGE_WALK_BUT, from, c->made, i);
	}
	if (g->deferred > 0 && before.v != from.v)
		deferred_clear(g, streaming(g, before), c->dest);
	source_withdraw(g, i);
}

/*
 * Announces the second default route: with the change of `other` in the batch or, after this change was compared, here. False: the attributes cannot be made
 * now. The second route is then withdrawn, and the next change of the destination announces it.
 */
static bool
announce_other_default(struct update_group *g, uint32_t i, struct dest_id other)
{
	struct update_groups *s = g->set;
	struct adj_route r = adj_rib_out_get(g->out, other);
	struct peer_id source = route_source(g, r);
	struct offer o;
	struct change *c;
	unsigned h;
	int err = 0;

	if (!route_again(g, other, r, &o) || !offer_make(g, &o, &err)) {
		g->error = err;
		(void)adj_rib_out_set(g->out, other, (struct adj_route){0}, &r);
		adj_record_put(s->records, r.record);
		c = batch_find(s, other, &h);
		if (c != NULL)
			c->present = false;
		return false;
	}
	if (streaming(g, source) != NULL)
		entry_add(s, MESSAGE_ONLY, source, MADE_NONE, i);
	c = batch_touch(
		g, other, &s->change[i].key, adj_rib_out_hold(g->out, other), o.made, false, true);
	change_present(c, source, r.label);
	if (c > &s->change[i]) {
		c->again = true;
		return true;
	}
	entry_add(s, MESSAGE_ALL_BUT, source, o.made, (uint32_t)(c - s->change));
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->state == MEMBER_BEHIND && member_has(m, r))
			behind_mark(m, other, true);
	}
	return true;
}

static void
change_withdraw(struct update_group *g, uint32_t i)
{
	const struct change *c = &g->set->change[i];
	struct peer_id but = route_source(g, c->old);
	struct dest_id other;

	if (c->old.record.v == 0)
		return;
	if (default_shadowed(g, c->dest, &c->key, &other) && announce_other_default(g, i, other))
		return;
	if (g->deferred > 0 && deferred_clear(g, streaming(g, but), c->dest))
		but = PEER_SELF;
	entry_add(g->set, MESSAGE_ALL_BUT, but, MADE_NONE, i);
}

/* Members behind set two bits. */
static void
change_remember(struct update_group *g, const struct change *c, bool differs)
{
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		bool had, has;

		if (m->state != MEMBER_BEHIND)
			continue;
		had = member_has(m, c->old);
		has = c->present && c->source.v != m->id.v;
		if (c->live && has && (had != has || differs))
			behind_urge(m, c->dest);
		if (had != has || (has && differs) ||
			(c->walk && has && g->kind == WALK_SEND && member_walks(m, g->serial)))
			behind_mark(m, c->dest, has);
	}
}

static void
batch_compare(struct update_group *g)
{
	struct update_groups *s = g->set;

	for (uint32_t i = 0; i < s->change_count; i++) {
		struct change *c = &s->change[i];
		bool differs = change_differs(g, c);

		if (c->present)
			change_announce(g, i, differs);
		else
			change_withdraw(g, i);
		if (g->behind_count > 0)
			change_remember(g, c, differs);
	}
}

/* ---- packing ---- */

/* Fills one message of `limit` octets with prefixes, and moves *at. False: the attributes leave no room for a prefix. */
static bool
message_pack(struct update_group *g, const struct bucket *b, uint32_t *at, size_t limit,
	struct message *head)
{
	struct update_groups *s = g->set;
	const struct attr_set *attrs = b->made != MADE_NONE ? s->made[b->made].attrs : NULL;
	struct update_packer u;

	if (!update_packer_begin(&u, g->rules.family, attrs, &g->rules.encode, s->message, limit))
		return false;
	head->id_count = 0;
	while (*at != ENTRY_NONE) {
		const struct change *c = &s->change[s->entry[*at].change];

		if (!key_pack(&u, &c->key, c->label))
			break;
		s->message_id[head->id_count++] = c->dest.v;
		*at = s->entry[*at].next;
	}
	if (head->id_count == 0)
		return false;
	head->withdraw = attrs == NULL;
	head->next_hop_at =
		attrs != NULL && attrs->unused == OWN_NEXT_HOP ? (uint16_t)u.next_hop_at : 0;
	head->len = (uint16_t)update_packer_finish(&u);
	g->stats.messages++;
	g->stats.octets += head->len;
	return true;
}

/* The attributes fit no message of the group's sessions: withdraws the destinations from every member. */
static void
bucket_give_up(struct update_group *g, const struct bucket *b, uint32_t at)
{
	struct update_groups *s = g->set;
	struct adj_route old;
	uint32_t next;

	for (; at != ENTRY_NONE; at = next) {
		struct change *c = &s->change[s->entry[at].change];

		next = s->entry[at].next;
		if (c->made != b->made || adj_rib_out_get(g->out, c->dest).record.v == 0)
			continue;
		(void)adj_rib_out_set(g->out, c->dest, (struct adj_route){0}, &old);
		adj_record_put(s->records, old.record);
		entry_add(s, MESSAGE_ALL_BUT, PEER_SELF, MADE_NONE, s->entry[at].change);
		for (struct update_member *m = g->members; m != NULL; m = m->next) {
			if (m->state == MEMBER_BEHIND)
				behind_mark(m, c->dest, false);
			else if (m->state == MEMBER_STREAM)
				deferred_clear(g, m, c->dest);
		}
	}
}

static void
bucket_pack(struct update_group *g, unsigned i, uint64_t passed) RUNS_ON(role_session)
{
	const struct bucket b = g->set->bucket[i];
	struct message head = {.kind = b.kind, .who = b.who, .walk = g->serial, .passed = passed};
	uint32_t at = b.first;

	while (at != ENTRY_NONE && g->error == 0) {
		if (!message_pack(g, &b, &at, BGP_MSG_MAX, &head) &&
			!(g->rules.encode.extended_message && /* RFC 8654 */
				message_pack(g, &b, &at, BGP_EXTENDED_MSG_MAX, &head))) {
			bucket_give_up(g, &b, at);
			return;
		}
		g->error = stream_append(g, &head, g->set->message_id, g->set->message);
	}
}

/* Announcements, then withdrawals. */
static void
batch_pack(struct update_group *g, uint64_t passed) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;

	for (unsigned i = 0; i < s->bucket_count; i++) {
		if (s->bucket[i].made != MADE_NONE)
			bucket_pack(g, i, passed);
	}
	for (unsigned i = 0; i < s->bucket_count; i++) {
		if (s->bucket[i].made == MADE_NONE)
			bucket_pack(g, i, passed);
	}
}

static void
batch_finish(struct update_group *g, uint64_t passed) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;

	if (g->error == 0) {
		for (struct update_member *m = g->members; m != NULL; m = m->next)
			behind_pass(m);
		batch_compare(g);
		batch_pack(g, passed);
	}
	for (unsigned i = 0; i < s->change_count; i++)
		adj_record_put(s->records, s->change[i].old.record);
	batch_reset(s);
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

static bool
walk_awaits(const struct update_group *g)
{
	return g->kind == WALK_SEND && !walk_runs(g) && routes_await(g);
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
	/* EoRR would remove the routes that could not be sent. */
	if (walk_awaits(g))
		return false;
	if (g->kind == WALK_SEND && g->walk_unsent) {
		g->walk_unsent = false;
		walk_begin_all(&g->walk, &g->table);
		return true;
	}
	if (g->kind == WALK_SEND)
		stream_mark(g, MESSAGE_WALK_END, PEER_SELF);
	if (g->kind == WALK_POLICY || g->policy_within)
		stream_mark(g, MESSAGE_POLICY_END, PEER_SELF);
	g->policy_within = false;
	g->kind = WALK_NONE;
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
			!rounds_wait(g)) ||
		live_due(g))
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
	uint64_t journal, live, walk, catch_up_walk, catch_up, default_due;
};

static struct positions
positions_of(const struct update_group *g)
{
	return (struct positions){.journal = journal_position(g->cursor),
		.live = g->live_from,
		.walk = g->walk.next,
		.catch_up_walk = g->catch_up_walk.next,
		.catch_up = g->catch_up,
		.default_due = g->default_due};
}

/* Holds ids until every member has passed the stream. Without a free cursor, a member is disconnected when falling behind. */
static void
tail_need(struct update_group *g)
{
	if (g->first != g->last && g->tail == NULL)
		(void)journal_hold(g->set->journal, g->cursor, &g->tail);
}

bool
stream_produce(struct update_group *g, uint64_t deadline_ns)
{
	struct positions before, now;
	uint64_t passed;
	bool done;

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
	if (g->set->change_count > 0) {
		batch_finish(g, passed);
		g->version++;
	} else if (g->set->quick_count > 0) {
		g->set->quick_count = 0;
		g->version++;
	} else if (done && g->behind_count > 0) {
		g->version++; /* members that are behind wait for a place in the journal */
	}
	tail_need(g);
	if (g->catch_up == CATCH_UP_NONE)
		journal_unpin(g->cursor);
	return done;
}

bool
key_of(const struct update_group *g, struct dest_id id, struct route_key *out)
{
	struct dest_view v;

	if (id.v == DEST_DEFAULT.v) {
		*out = (struct route_key){.prefix.afi = (uint8_t)family_afi(g->rules.family)};
		return true;
	}
	if (!shards_peek(&g->table, id, &v))
		return false;
	*out = view_key(&v);
	return true;
}

bool
key_pack_label(struct update_packer *u, const struct route_key *k, uint32_t label)
{
	uint8_t octets[LABEL_OCTETS];
	struct nlri n = {.prefix = k->prefix, .rd = k->rd, .label_count = 1, .labels = octets};

	label_put(octets, label, true);
	return update_packer_add_form(u, &n);
}

bool
default_shadowed(const struct update_group *g, struct dest_id id, const struct route_key *k,
	struct dest_id *other)
{
	if (k->prefix.len != 0 || g->labels) /* no default route is originated in VPN families */
		return false;
	*other = DEST_DEFAULT;
	if (id.v == DEST_DEFAULT.v) {
		*other = shards_find(&g->table, &k->prefix);
		if (other->v == DEST_NONE)
			return false;
	}
	return adj_rib_out_get(g->out, *other).record.v != 0;
}
