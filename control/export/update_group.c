/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group packs each change once, into one ordered stream. Each member copies the messages from a place in the stream, and inserts the next hop of its session. A
 * member that holds up the others falls behind the stream, and remembers the destinations in two bits each (update_group_behind.c).
 */
#include "control/export/update_group_impl.h"

#include "control/base/threads.h"
#include "control/export/rt_filter.h"
#include "rib/table/path_ring.h"

#include <errno.h>
#include <string.h>

#define KEPT_MAX (1u << 20)
#define PATIENCE_NS 1000000000u
#define SETTLE_NS 250000000u
#define AWAIT_NS 50000000u
#define STALL_NS 3000000000u
#define STALL_OCTETS 65536u /* some 16,000 withdrawals of IPv4 */
#define CLOCK_EVERY 32u /* a copy takes about as long as reading the clock */

/* ---- the groups of a thread ---- */

int
update_groups_create(const struct update_groups_config *c, struct update_groups **out)
{
	struct update_groups *s = arena_calloc(c->arena, sizeof(*s));
	int err = -ENOMEM;

	if (s == NULL)
		return -ENOMEM;
	s->c = *c;
	s->records = c->records;
	if (c->shards != NULL)
		s->shards = *c->shards;
	else
		shards_init(&s->shards, &c->shard, 1);
	if (s->c.batch == 0)
		s->c.batch = s->shards.count > 1 ? BATCH_CHANGES_MAX : BATCH_CHANGES;
	if (s->c.batch > BATCH_CHANGES_MAX)
		s->c.batch = BATCH_CHANGES_MAX;
	s->hash_mask = (s->c.batch > BATCH_CHANGES ? BATCH_HASH : 4 * BATCH_CHANGES) - 1;
	if (s->c.kept_max < 2)
		s->c.kept_max = s->c.kept_max == 0 ? KEPT_MAX : 2;
	if (s->c.patience_ns == 0)
		s->c.patience_ns = PATIENCE_NS;
	if (s->c.settle_ns == 0)
		s->c.settle_ns = SETTLE_NS;
	if (s->c.await_ns == 0)
		s->c.await_ns = AWAIT_NS;
	if (s->c.stall_ns == 0)
		s->c.stall_ns = STALL_NS;
	if (s->c.stall_octets == 0)
		s->c.stall_octets = STALL_OCTETS;
	s->journal = shard_journal(s->shards.at[0]);
	s->news.upto = journal_head(s->journal);
	s->scratch_size = 2048;
	s->scratch[0] = arena_alloc(c->arena, s->scratch_size);
	s->scratch[1] = arena_alloc(c->arena, s->scratch_size);
	s->accepted = arena_alloc(c->arena, ATTR_SET_MAX);
	s->room = arena_alloc(c->arena, ROOM_SIZE);
	s->content = arena_calloc(c->arena, CONTENT_CACHE * sizeof(*s->content));
	if (s->scratch[0] != NULL && s->scratch[1] != NULL && s->accepted != NULL &&
		s->room != NULL && s->content != NULL)
		err = policy_eval_create(c->arena, &s->eval);
	if (err < 0) {
		update_groups_destroy(s);
		return err;
	}
	s->whole = UINT64_MAX;
	memset(s->made_hash, 0xff, sizeof(s->made_hash));
	memset(s->change_hash, 0xff, sizeof(s->change_hash));
	memset(s->bucket_hash, 0xff, sizeof(s->bucket_hash));
	*out = s;
	return 0;
}

void
update_groups_destroy(struct update_groups *s)
{
	if (s == NULL)
		return;
	rules_run_end(s);
	windows_tidy(s, true);
	if (s->eval != NULL)
		policy_eval_destroy(s->eval);
	arena_free(s->c.arena, s->room);
	arena_free(s->c.arena, s->content);
	arena_free(s->c.arena, s->scratch[0]);
	arena_free(s->c.arena, s->scratch[1]);
	arena_free(s->c.arena, s->edited);
	arena_free(s->c.arena, s->accepted);
	arena_free(s->c.arena, s);
}

/* ---- a group ---- */

static struct message *
stream_begin(struct arena *a)
{
	return arena_calloc(a, sizeof(struct message));
}

static int
group_create(struct update_groups *s, const struct update_rules *rules, struct update_group **out)
	RUNS_ON(role_session)
{
	struct update_group *g = arena_calloc(s->c.arena, sizeof(*g));
	int err;

	if (g == NULL)
		return -ENOMEM;
	g->set = s;
	g->id = ++s->last_id;
	g->rules = *rules;
	g->labels = rules_labels(rules);
	shards_table(&s->shards, rules->table, &g->table);
	g->first = g->last = g->front = stream_begin(s->c.arena);
	err = g->last != NULL
		      ? adj_rib_out_create(s->c.arena, s->records, rules->table, g->labels, &g->out)
		      : -ENOMEM;
	if (err == 0)
		err = table_join(g);
	g->next = s->groups;
	s->groups = g;
	if (err < 0) {
		update_group_dismantle(g, UINT64_MAX);
		return err;
	}
	g->order.window = g->reader->count;
	*out = g;
	return 0;
}

/* Frees the small parts, and the places in the journal that hold up the shards. */
static void
group_leave(struct update_group *g)
{
	struct update_groups *s = g->set;
	struct update_group **at = &s->groups;

	if (g->left)
		return;
	g->left = true;
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	if (s->news.next == g)
		s->news.next = g->next;
	table_leave(g);
	rules_forget(g);
	stream_trim(g);
	if (g->tail != NULL)
		journal_unsubscribe(s->journal, g->tail);
	arena_free(s->c.arena, g->first);
}

bool
update_group_dismantle(struct update_group *g, uint64_t deadline_ns)
{
	group_leave(g);
	if (g->copy != NULL && update_group_dismantle(g->copy, deadline_ns))
		return true;
	g->copy = NULL;
	while (g->out != NULL && adj_rib_out_dismantle(g->out)) {
		if (now_ns() >= deadline_ns)
			return true;
	}
	adj_rib_out_destroy(g->out);
	order_reset(g);
	arena_free(g->set->c.arena, g->edit.of);
	arena_free(g->set->c.arena, g);
	return false;
}

/* ---- members ---- */

struct update_member *
member_find(const struct update_group *g, struct peer_id id)
{
	struct update_member *m = g->set->by_id[g->rules.family][id.v];

	return m != NULL && m->group == g ? m : NULL;
}

void
member_stand(struct update_member *m, struct message *at)
{
	struct update_group *g = m->group;

	if (m->at != NULL)
		m->at->standing--;
	if (at != NULL && (at == g->last || m->at == g->front))
		g->front = at;
	m->at = at;
	if (at != NULL)
		at->standing++;
}

void
member_link(struct update_member *m, struct update_group *g)
{
	m->group = g;
	m->next = g->members;
	g->members = m;
	g->member_count++;
	g->laps.waiting += member_waits(m);
	g->laps.walking += m->walk_end != 0;
	g->settling += member_settling(m);
	g->behind_count += m->state == MEMBER_BEHIND;
	if (m->state != MEMBER_STREAM)
		return;
	g->stream_count++;
	g->ready_count += !m->full;
	g->deferred += m->gone.count;
	member_stand(m, g->last);
}

void
member_unlink(struct update_member *m)
{
	struct update_group *g = m->group;
	struct update_member **at = &g->members;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	g->member_count--;
	g->laps.waiting -= member_waits(m);
	g->laps.walking -= m->walk_end != 0;
	if (g->laps.walking == 0)
		g->laps.until = g->laps.policy_until;
	g->settling -= member_settling(m);
	g->behind_count -= m->state == MEMBER_BEHIND;
	member_stand(m, NULL);
	if (m->state != MEMBER_STREAM)
		return;
	g->stream_count--;
	g->ready_count -= !m->full;
	g->deferred -= m->gone.count;
}

static struct update_group *
group_find(struct update_groups *s, const struct update_rules *rules)
{
	struct update_group *g;

	for (g = s->groups; g != NULL; g = g->next) {
		/* a new member is never sent routes by the rules from before a plan */
		if (g->error == 0 && !g->frozen && !g->planned && rules_equal(&g->rules, rules))
			break;
	}
	return g;
}

void
member_next_hop(struct update_member *m)
{
	uint8_t len = m->group->rules.next_hop_len;
	size_t stored;

	/* rules of another length: the group is about to be split */
	if (len != m->rules.next_hop_len)
		return;
	m->next_hop_len = len;
	m->next_hop = m->own_next_hop;
	if (m->next_hop.afi == AFI_NONE && len >= 16)
		m->next_hop.afi = AFI_IPV6; /* :: beside a link-local address, as other speakers */
	m->next_hop_link_local = (struct ip_addr){.afi = AFI_NONE};
	if (len == 32 || len == 48)
		m->next_hop_link_local = m->own_link_local;
	if (len == 0)
		return;
	stored = bgp_next_hop_encode(
		m->group->rules.family, &m->next_hop, &m->next_hop_link_local, m->next_hop_octets);
	assert(stored == len);
}

bool
update_group_next_hop(
	struct update_member *m, const struct ip_addr *next_hop, const struct ip_addr *link_local)
{
	uint8_t before[BGP_NEXT_HOP_MAX], len = rules_next_hop_len(&m->rules, next_hop, link_local);
	bool changed;

	m->own_next_hop = *next_hop;
	m->own_link_local = *link_local;
	if (len != m->rules.next_hop_len) {
		m->rules.next_hop_len = len;
		split_settle(m->group);
	}
	memcpy(before, m->next_hop_octets, sizeof(before));
	member_next_hop(m);
	changed =
		len == m->group->rules.next_hop_len && memcmp(before, m->next_hop_octets, len) != 0;
	if (changed && m->group->set->changes != NULL)
		path_ring_lose(m->group->set->changes, m->id); /* BMP: all routes of the peer */
	return changed;
}

int
update_group_join(
	struct update_groups *s, const struct update_member_config *c, struct update_member **out)
{
	struct update_rules rules = rules_normal(&c->rules);
	struct update_member *m = arena_calloc(s->c.arena, sizeof(*m));
	struct update_group *g;
	int err = 0;

	if (m == NULL)
		return -ENOMEM;
	m->id = c->id;
	m->rules = c->rules;
	m->own_next_hop = c->next_hop;
	m->own_link_local = c->next_hop_link_local;
	rules.next_hop_len = m->rules.next_hop_len =
		rules_next_hop_len(&rules, &c->next_hop, &c->next_hop_link_local);
	g = group_find(s, &rules);
	if (g == NULL)
		err = group_create(s, &rules, &g);
	if (err < 0) {
		arena_free(s->c.arena, m);
		return err;
	}
	m->state = MEMBER_JOINING;
	m->dumping = true;
	member_link(m, g);
	member_next_hop(m);
	s->by_id[rules.family][c->id.v] = m;
	*out = m;
	return 0;
}

void
update_group_limit(struct update_member *m, uint32_t limit)
{
	m->group->set->limited += (limit != 0) - (m->limit != 0);
	m->limit = limit;
}

struct update_group *
update_group_leave(struct update_member *m)
{
	struct update_group *g = m->group;
	struct update_groups *s = g->set;

	member_unlink(m);
	s->by_id[g->rules.family][m->id.v] = NULL;
	rules_lost(s, g->rules.family, m->id);
	update_group_limit(m, 0);
	if (m->cursor != NULL)
		journal_unsubscribe(s->journal, m->cursor);
	bits_fini(s->c.arena, &m->tell);
	bits_fini(s->c.arena, &m->gone);
	arena_free(s->c.arena, m);
	stream_trim(g);
	if (g->members == NULL)
		return g;
	split_settle(g);
	return NULL;
}

/* ---- walks of members ---- */

void
update_group_refresh(struct update_member *m, bool framed)
{
	bool waited = member_waits(m);

	m->asks = true;
	m->asks_framed |= framed;
	m->group->laps.waiting += member_waits(m) && !waited;
}

bool
update_group_shared(const struct update_member *a, const struct update_member *b)
{
	return a != NULL && b != NULL && a->group == b->group;
}

static size_t
frame_octets(const struct update_member *m, bool begin, struct output *o)
{
	enum family f = m->group->rules.family;

	if (m->dumping)
		return begin ? 0 : bgp_end_of_rib_encode(f, o->p, o->room);
	if (!m->framed)
		return 0;
	return bgp_refresh_encode(f, begin ? REFRESH_BEGIN : REFRESH_END, o->p, o->room);
}

bool
member_frame(struct update_member *m, bool begin, struct output *o)
{
	bool dumping = m->dumping, framed = m->framed;

	if (o->room < BGP_MSG_MAX)
		return false;
	output_take(o, frame_octets(m, begin, o));
	if (begin) {
		m->begun = true;
		m->first_sent = false;
		if (framed && !dumping)
			o->mark(o->ctx, MARK_BORR);
		return true;
	}
	m->walk = 0;
	m->begun = m->dumping = m->framed = false;
	m->group->laps.waiting += member_waits(m);
	if (dumping) {
		o->mark(o->ctx, MARK_END_OF_RIB);
		return true;
	}
	if (framed)
		o->mark(o->ctx, MARK_EORR);
	o->mark(o->ctx, MARK_WALK_DONE);
	return true;
}

void
member_first_sent(struct update_member *m, struct output *o)
{
	if (m->begun && !m->first_sent && !m->dumping)
		o->mark(o->ctx, MARK_FIRST_ENTRY);
	m->first_sent = m->begun;
}

/* ---- into a member's buffer ---- */

static bool
output_late(struct output *o)
{
	if (o->until_clock-- > 0)
		return false;
	o->until_clock = CLOCK_EVERY;
	return now_ns() >= o->deadline_ns;
}

void
member_write(struct update_member *m, const struct message *head, const uint8_t *octets,
	struct output *o)
{
	memcpy(o->p, octets, head->len);
	if (head->next_hop_at != 0)
		memcpy(o->p + head->next_hop_at, m->next_hop_octets, m->group->rules.next_hop_len);
	output_take(o, head->len);
	if (!head->withdraw)
		member_first_sent(m, o);
}

/* True if the next message of the stream has a label that is not installed yet. */
static bool
member_awaits_labels(const struct update_member *m)
{
	return m->state == MEMBER_STREAM && m->at->next != NULL &&
	       m->at->next->labels > swaps_done(m->group->set->c.swaps);
}

/* Copies the next message of the stream. False: no room, no time, or a label is not installed. */
static bool
member_copy(struct update_member *m, struct output *o) RUNS_ON(role_session)
{
	struct message *msg = m->at->next;

	if (member_awaits_labels(m) || m->next_hop_len != m->group->rules.next_hop_len)
		return false;
	if (message_is_for(m, msg)) {
		if (msg->len > o->room || output_late(o))
			return false;
		switch ((enum message_kind)msg->kind) {
		case MESSAGE_WALK_BEGIN:
		case MESSAGE_WALK_END:
			if (o->room < BGP_MSG_MAX)
				return false;
			/* First: the session may request another walk in the callback. */
			member_stand(m, msg);
			member_frame(m, msg->kind == MESSAGE_WALK_BEGIN, o);
			break;
		case MESSAGE_POLICY_END:
			o->mark(o->ctx, MARK_POLICY_DONE);
			break;
		case MESSAGE_SETTLED:
			m->settled = msg->walk;
			o->mark(o->ctx, MARK_SETTLED);
			break;
		case MESSAGE_ALL_BUT:
		case MESSAGE_ONLY:
		case MESSAGE_WALK_BUT:
			member_write(m, msg, message_octets(msg), o);
			break;
		}
	}
	member_stand(m, msg);
	stream_trim(m->group);
	return true;
}

/* One step of a turn. False: nothing can be done now. */
static bool
member_step(struct update_member *m, struct output *o) RUNS_ON(role_session)
{
	struct update_group *g = m->group;
	bool made;

	if (m->state == MEMBER_BEHIND) {
		behind_run(m, o);
		if (m->state == MEMBER_STREAM)
			return true;
		if (g->ready_count > 0)
			return false; /* the ready members drive the stream */
	} else if (m->state == MEMBER_STREAM && m->at->next != NULL) {
		return member_copy(m, o);
	}
	if (o->live || o->room < BGP_MSG_MAX || now_ns() >= o->deadline_ns)
		return false;
	g->set->direct = g->member_count == 1 ? m : NULL;
	g->set->direct_output = o;
	made = stream_produce(g, o->deadline_ns);
	g->set->direct = NULL;
	return made;
}

/* ---- turns ---- */

bool
member_pending(const struct update_member *m)
{
	const struct update_group *g = m->group;

	if (m->error != 0 || g->error != 0 || member_awaits_labels(m))
		return false;
	if (m->state == MEMBER_BEHIND)
		return behind_pending(m);
	return (m->state == MEMBER_STREAM && m->at->next != NULL) || stream_pending(g);
}

uint64_t
member_wait_ns(const struct update_member *m)
{
	const struct update_group *g = m->group;
	uint64_t at = walk_blocked(g) && !group_is_full(g) ? g->patience.retry_ns : 0,
		 rest = stream_rest_ns(g);

	if (rest != 0 && (at == 0 || rest < at))
		at = rest;
	return g->rules_due_ns != 0 && (at == 0 || g->rules_due_ns < at) ? g->rules_due_ns : at;
}

int
member_error(struct update_member *m)
{
	struct update_group *g = m->group;

	if (m->error == 0 && m->cursor != NULL && journal_evicted(m->cursor)) {
		m->error = -ESTALE;
		g->stats.evicted++;
	}
	return m->error != 0 ? m->error : g->error;
}

uint64_t
update_share(uint64_t deadline_ns)
{
	uint64_t now = now_ns(), share = deadline_ns > now ? (deadline_ns - now) / 2 : 0;

	return now + (share > EXPORT_SHARE_NS ? share : EXPORT_SHARE_NS);
}

static bool
other_family_pending(const struct update_member *m) RUNS_ON(role_session)
{
	const struct update_groups *s = m->group->set;

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		const struct update_member *other = s->by_id[f][m->id.v];

		if (other != NULL && other != m && member_pending(other))
			return true;
	}
	return false;
}

/* The output of `m` has no room. True: there are members behind, and from here on they drive the group. */
static bool
member_full(struct update_member *m)
{
	struct update_group *g = m->group;
	bool was_ready = m->state == MEMBER_STREAM && !m->full;

	m->full = true;
	g->ready_count -= was_ready;
	return was_ready && g->ready_count == 0 && g->behind_count > 0;
}

/* A turn without output. */
static void
member_hold(struct update_member *m, const struct update_io *io, bool pressed, uint64_t deadline_ns,
	struct update_turn *t) RUNS_ON(role_session)
{
	struct update_group *g = m->group;

	t->state = TURN_HELD;
	t->others = member_full(m);
	if (io->paused && !pressed) {
		m->blocked_ns = 0;
		g->paused = g->ready_count == 0;
		if (g->paused)
			group_fall(g);
	} else if (!io->taken)
		t->others |= member_blocked(m, deadline_ns);
	else {
		m->blocked_ns = 0;
		t->others |= pressed;
	}
}

/* A turn with output: copies and produces messages until none is left, the room is used, or the time is over. */
static void
member_send(struct update_member *m, const struct update_io *io, bool pressed, uint64_t deadline_ns,
	struct update_turn *t) RUNS_ON(role_session)
{
	struct update_group *const began = m->group, *g = began;
	struct output o = {.p = io->buf,
		.room = io->size,
		.deadline_ns = other_family_pending(m) ? update_share(deadline_ns) : deadline_ns,
		.live = io->live,
		.mark = io->mark,
		.ctx = io->ctx};
	bool shared = g->member_count > 1, blocked = walk_blocked(g), more;
	uint64_t version = g->version;

	t->had_output = true;
	g->paused = false;
	t->walked = g->laps.walking > 0;
	g->ready_count += m->state == MEMBER_STREAM && m->full;
	m->full = false;
	m->blocked_ns = 0;
	if (!pressed || m->spent_octets >= g->set->c.stall_octets)
		stall_end(m);
	rules_run_end(g->set);
	while (member_error(m) == 0 && member_step(m, &o))
		g = m->group; /* a split may move the member */
	if (m->state == MEMBER_STREAM && m->at->next == NULL)
		stall_end(m);
	behind_pass(m, group_passed(m->group));
	more = member_pending(m);
	t->state = more ? TURN_MORE : TURN_IDLE;
	t->len = io->size - o.room;
	m->spent_octets += (uint32_t)t->len;
	/* The last term: the output of `m` may be full in the next turn; the members behind then drive the group. */
	t->others =
		shared && (g != began || g->version != version || (blocked && !walk_blocked(g)) ||
				  (more && g->behind_count > 0 && m->state == MEMBER_STREAM));
}

bool
update_member_pending(const struct update_member *m)
{
	const struct update_group *g = m->group;

	return member_pending(m) &&
	       (m->state == MEMBER_BEHIND || member_waits(m) ||
		       (m->state == MEMBER_STREAM && m->at->next != NULL) || stream_works(g));
}

struct update_turn
update_member_turn(struct update_member *m, const struct update_io *io, uint64_t deadline_ns)
{
	struct update_turn t = {.state = TURN_IDLE, .table = m->group->rules.table};
	bool pressed;

	table_pass(m->group->set, m->group->reader);
	if (member_error(m) == 0 && member_pending(m)) {
		pressed = journal_pressed(m->group->set->journal);
		if (io->buf == NULL || (io->paused && !pressed))
			member_hold(m, io, pressed, deadline_ns, &t);
		else
			member_send(m, io, pressed, deadline_ns, &t);
	}
	t.error = member_error(m);
	if (t.error != 0)
		t.state = TURN_FAILED;
	if (t.state == TURN_IDLE)
		t.wait_ns = member_wait_ns(m);
	/* the time may have come since the member was found idle */
	if (t.state == TURN_IDLE && t.wait_ns == 0 && member_pending(m))
		t.state = TURN_MORE;
	t.yields = t.state == TURN_MORE && windows_full(m->group);
	return t;
}

/* ---- queries ---- */

uint64_t
update_group_advertised(const struct update_member *m)
{
	const struct adj_rib_out *o = m->group->out;

	return adj_rib_out_count(o) - adj_rib_out_count_from(o, m->id);
}

bool
update_group_advertises(const struct update_member *m, struct dest_id dest)
{
	return member_has(m, adj_rib_out_get(m->group->out, dest));
}

/* The route that the group advertises next. False: none for the member. */
static bool
route_next(const struct update_member *m, struct dest_id dest, struct offer *o)
{
	struct dest_view view;

	return shards_peek(&m->group->table, dest, &view) && view.paths != NULL &&
	       rules_look(m->group, dest, &view, o) == 0 && o->permit &&
	       o->path.source.v != m->id.v;
}

const struct attr_set *
update_group_exported(const struct update_member *m, struct dest_id dest, uint32_t *label)
{
	struct update_group *g = m->group;
	struct adj_route r = adj_rib_out_get(g->out, dest);
	const struct attr_set *a;
	struct attr_set *out;
	struct offer o;
	uint64_t hash;
	int err;

	rules_run_end(g->set);
	if (!member_has(m, r) || (!route_again(g, dest, r, &o) && !route_next(m, dest, &o)))
		return NULL;
	a = offer_content(g, &o, &hash, &err);
	if (a == NULL)
		return NULL;
	*label = g->labels ? o.label : RIB_LABEL_NONE;
	out = a == g->set->scratch[0] ? g->set->scratch[0] : g->set->scratch[1];
	if (out->unused == OWN_NEXT_HOP) {
		out->unused = 0;
		out->next_hop = m->next_hop;
		out->next_hop_link_local = m->next_hop_link_local;
	}
	return out;
}

const char *
update_refusal_text(enum update_refusal r)
{
	static const char *const text[EXPORT_REFUSALS] = {"permitted", "no-route", "not-installed",
		"no-policy", "own-default", "source", "internal", "community", "role",
		"site-of-origin", "policy", "membership", "next-hop"};

	return r < EXPORT_REFUSALS ? text[r] : "?";
}

/* rules_explain() names the rule; rules_look() has the last word, also about rules without a name of their own. */
static enum update_refusal
fate_refusal(const struct update_member *m, struct dest_id dest, uint32_t *node)
{
	struct update_group *g = m->group;
	enum update_refusal why = EXPORT_NO_ROUTE;
	struct dest_view view;
	struct offer o;
	uint64_t hash;
	int err;

	if (dest.v == DEST_NONE || !shards_peek(&g->table, dest, &view) || view.paths == NULL ||
		view.paths->eligible == 0)
		return EXPORT_NO_ROUTE;
	if (view.paths->path[0].peer.v == m->id.v)
		return EXPORT_SOURCE;
	if (rules_explain(g, dest, &view, &why, node) < 0 || why != EXPORT_PERMITTED)
		return why;
	if (rules_look(g, dest, &view, &o) < 0 || o.kept)
		return EXPORT_PERMITTED;
	return o.permit && offer_content(g, &o, &hash, &err) != NULL ? EXPORT_PERMITTED
								     : EXPORT_NEXT_HOP;
}

void
update_group_fate(
	const struct update_member *m, struct dest_id dest, bool zero, struct update_fate *out)
{
	struct update_group *g = m->group;

	rules_run_end(g->set);
	*out = (struct update_fate){.group = g->id,
		.advertised = (dest.v != DEST_NONE && update_group_advertises(m, dest)) ||
			      (zero && update_group_advertises(m, DEST_DEFAULT)),
		.policy = g->rules.policy != NULL ? policy_name(g->rules.policy) : NULL};
	out->refusal = zero && g->rules.default_originate ? EXPORT_OWN_DEFAULT
							  : fate_refusal(m, dest, &out->node);
	rules_run_end(g->set);
}

bool
update_group_waits(const struct update_member *m)
{
	const struct update_group *g = m->group;

	return g->error != 0 || m->state == MEMBER_BEHIND ||
	       (m->state == MEMBER_STREAM && m->at->next != NULL) ||
	       (g->ready_count == 0 && stream_pending(g));
}

/* A member of a group without messages for others has no member to lag behind. */
uint64_t
update_group_lag_ns(const struct update_member *m, uint64_t now_ns)
{
	const struct update_group *g = m->group;
	uint32_t now = tick_of(now_ns), since = now;

	if (m->state == MEMBER_BEHIND && g->stream_count > 0)
		since = m->behind_tick;
	else if (m->state == MEMBER_STREAM && m->at->next != NULL && m->at != g->front)
		since = m->at->next->tick;
	return since < now ? (uint64_t)(now - since) << TICK_SHIFT : 0;
}

/* The time of the oldest message that a member of `g` has not passed. 0: a member owes withdrawals of unknown age. */
static uint64_t
group_passed_ns(const struct update_group *g)
{
	uint64_t oldest = UINT64_MAX;

	if (g->deferred > 0)
		return 0;
	if (g->first != g->last)
		oldest = (uint64_t)g->first->next->tick << TICK_SHIFT;
	for (const struct update_member *m = g->members; m != NULL; m = m->next) {
		uint64_t since = (uint64_t)m->behind_tick << TICK_SHIFT;

		if (m->state == MEMBER_BEHIND && since < oldest)
			oldest = since;
	}
	return oldest;
}

uint64_t
update_groups_passed_ns(const struct update_groups *s)
{
	uint64_t oldest = UINT64_MAX;

	for (const struct update_group *g = s->groups; g != NULL; g = g->next) {
		uint64_t passed = g->labels ? group_passed_ns(g) : UINT64_MAX;

		if (passed < oldest)
			oldest = passed;
	}
	return oldest;
}

static void
filter_mark(const struct update_rules *r)
{
	if (r->filter != NULL)
		r->filter->marked = true;
}

void
update_groups_filters(struct update_groups *s)
{
	for (const struct update_group *g = s->groups; g != NULL; g = g->next) {
		filter_mark(&g->rules);
		filter_mark(&g->before);
		if (g->copy != NULL)
			filter_mark(&g->copy->rules);
		for (const struct update_member *m = g->members; m != NULL; m = m->next)
			filter_mark(&m->rules);
	}
}

void
update_groups_relabel(struct update_groups *s)
{
	for (struct update_group *g = s->groups; g != NULL; g = g->next)
		if (g->labels && !g->left)
			policy_walk_owe(g);
}

const struct update_rules *
update_group_rules_of(const struct update_member *m)
{
	return &m->rules;
}

void
update_group_stats(const struct update_member *m, struct update_group_stats *out)
{
	*out = m->group->stats;
	out->id = m->group->id;
	out->members = m->group->member_count;
	out->behind = m->group->behind_count;
	out->windows = m->group->set->windows.serial;
}
