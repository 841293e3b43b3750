/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch compares the old and the new route of each destination once, and packs the messages once for all members, announcements before withdrawals.
 *
 * When a route (attributes a1 of source m1) becomes (a2, m2), a2 is sent to all members but m2, and a withdrawal to m2 alone. When a1 = a2, a2 is sent to m1
 * alone.
 */
#include "control/export/update_group_impl.h"

#include "rib/table/path_ring.h"

#include <errno.h>
#include <string.h>

#define SLOT_NONE UINT16_MAX
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

void
stream_mark(struct update_group *g, enum message_kind kind, struct peer_id who, uint32_t walk)
{
	struct message head = {
		.kind = (uint8_t)kind, .who = who, .walk = walk, .passed = group_passed(g)};
	int err = stream_append(g, &head, NULL, NULL);

	if (err < 0)
		g->error = err;
	for (struct update_member *m = g->members; m != NULL; m = m->next) {
		if (m->state == MEMBER_BEHIND)
			message_miss(m, &head);
	}
}

/* ---- changes of the batch ---- */

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

bool
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
	*c = (struct change){.walk = walk,
		.may_withdraw = may_withdraw,
		.live = s->live,
		.made = made,
		.dest = id,
		.old = old};
	c->key.rd = k->rd; /* field by field, as key_copy() */
	c->key.prefix = k->prefix;
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
	struct adj_record_id record = {0};
	struct adj_route r = {.edit = o->edit, .label = o->label};

	g->error = offer_record(g, o, &record);
	r.record = record; /* `r` stays in a register */
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

bool
route_resend(
	struct update_group *g, struct dest_id id, const struct route_key *k, bool may_withdraw)
{
	struct adj_route r = adj_rib_out_get(g->out, id);
	struct offer o = {.made = MADE_NONE};
	int err = 0;

	if (!route_again(g, id, r, &o) || !offer_make(g, &o, &err)) {
		if (err < 0)
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
		g->laps.unsent = true;
	if (may_withdraw && is_deferred(g, route_source(g, r), id))
		change_present(batch_touch(g, id, k, adj_rib_out_hold(g->out, id), MADE_NONE, false,
				       may_withdraw),
			route_source(g, r), r.label);
}

bool
group_limited(const struct update_group *g)
{
	bool limited = false;

	for (const struct update_member *m = g->members;
		g->set->limited > 0 && m != NULL && !limited; m = m->next)
		limited = m->limit != 0;
	return limited;
}

bool
withdrawals_come(const struct update_group *g)
{
	return g->set->plan[g->rules.family].peer_count > 0 ||
	       (g->laps.policy_until != 0 && !g->laps.rest);
}

/* True if a commit must not announce a further route yet: a member is at its limit. */
static bool
at_limit(const struct update_group *g, struct dest_id id)
{
	bool full = false;

	if (g->set->limited == 0 || !withdrawals_come(g) ||
		adj_rib_out_get(g->out, id).record.v != 0)
		return false;
	for (const struct update_member *m = g->members; m != NULL && !full; m = m->next)
		full = m->limit != 0 && update_group_advertised(m) >= m->limit;
	return full;
}

/* As path_change.had. */
static uint16_t
route_had(const struct update_group *g, struct adj_route r)
{
	return r.record.v != 0 ? route_source(g, r).v : PATH_HAD_NONE;
}

static bool
deferred_clear(struct update_group *g, struct update_member *m, struct dest_id id)
{
	if (m == NULL || !bits_clear(&m->gone, id))
		return false;
	g->deferred--;
	return true;
}

/*
 * A default route can come from the table and from default_originate. To the members both are one route: that of the other, in Adj-RIB-Out or earlier in the
 * batch, is the route before that of `id`.
 */
static struct adj_route
default_take(struct update_group *g, struct dest_id id, const struct route_key *k)
{
	struct update_member *m;
	struct adj_route r = {0};
	struct dest_id other;
	struct change *c;
	unsigned h;

	if (!default_other(g, id, k, &other))
		return r;
	(void)adj_rib_out_set(g->out, other, r, &r);
	c = batch_find(g->set, other, &h);
	if (c != NULL) {
		adj_record_put(g->set->records, r.record);
		r = c->old;
		c->old.record.v = 0;
		c->present = false;
	}
	for (m = g->members; m != NULL && g->deferred > 0; m = m->next)
		if (m->state == MEMBER_STREAM)
			deferred_clear(g, m, other);
	return r;
}

void
change_apply(struct update_group *g, struct dest_id id, const struct route_key *k, struct offer *o,
	bool walk, bool may_withdraw)
{
	struct adj_route old;
	uint16_t had = PATH_HAD_NONE;

	if (__builtin_expect(g->set->changes != NULL, 0))
		had = route_had(g, adj_rib_out_get(g->out, id));
	if (o->kept)
		route_kept(g, id, k, walk, may_withdraw);
	else if (!o->permit)
		route_remove(g, id, k, walk, may_withdraw);
	else if (o->same)
		route_same(g, id, k, o, walk, may_withdraw);
	else if (at_limit(g, id))
		g->stays = g->laps.short_of = true;
	else if (route_store(g, id, o, &old)) {
		unsigned before = g->set->change_count;
		struct change *c;

		if (old.record.v == 0 && k->prefix.len == 0)
			old = default_take(g, id, k);
		c = batch_touch(g, id, k, old, o->made, walk, may_withdraw);
		change_present(c, o->path.source, o->label);
		c->differs = o->differs && g->set->change_count > before;
	}
	if (__builtin_expect(g->set->tap != NULL, 0))
		trace_change(g, id, k);
	if (__builtin_expect(g->set->changes != NULL, 0))
		change_name(g, k, had);
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
	return c->differs || c->old.label != c->label ||
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

static void
change_withdraw(struct update_group *g, uint32_t i)
{
	const struct change *c = &g->set->change[i];
	struct peer_id but = route_source(g, c->old);

	if (c->old.record.v == 0)
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
		if (had != has || (has && differs) || (c->walk && has && m->walk_end != 0))
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
	head->live = false;
	while (*at != ENTRY_NONE) {
		const struct change *c = &s->change[s->entry[*at].change];

		if (!key_pack(&u, &c->key, c->label))
			break;
		s->message_id[head->id_count++] = c->dest.v;
		head->live |= c->live && attrs != NULL;
		*at = s->entry[*at].next;
	}
	if (head->id_count == 0)
		return false;
	head->withdraw = attrs == NULL;
	head->next_hop_at =
		attrs != NULL && attrs->unused == OWN_NEXT_HOP ? (uint16_t)u.next_hop_at : 0;
	head->len = (uint16_t)update_packer_finish(&u);
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
		if (s->changes != NULL)
			change_name(g, &c->key, route_had(g, old));
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
	struct message head = {.kind = b.kind, .who = b.who, .passed = passed};
	uint32_t at = b.first;

	while (at != ENTRY_NONE && g->error == 0) {
		if (!message_pack(g, &b, &at, BGP_MSG_MAX, &head) &&
			!(g->rules.encode.extended_message && /* RFC 8654 */
				message_pack(g, &b, &at, BGP_EXTENDED_MSG_MAX, &head))) {
			bucket_give_up(g, &b, at);
			return;
		}
		g->stats.messages++;
		g->stats.octets += head.len;
		g->error = stream_append(g, &head, g->set->message_id, g->set->message);
	}
}

/*
 * Announcements, then withdrawals: a longer prefix must not go before the shorter one comes. For a member with a limit the withdrawals make room first.
 */
static void
batch_pack(struct update_group *g, uint64_t passed) RUNS_ON(role_session)
{
	struct update_groups *s = g->set;

	for (unsigned i = 0, n = group_limited(g) ? s->bucket_count : 0; i < n; i++) {
		if (s->bucket[i].made == MADE_NONE) {
			bucket_pack(g, i, passed);
			s->bucket[i].first = s->bucket[i].last = ENTRY_NONE;
		}
	}
	for (unsigned i = 0; i < s->bucket_count; i++) {
		if (s->bucket[i].made != MADE_NONE)
			bucket_pack(g, i, passed);
	}
	for (unsigned i = 0; i < s->bucket_count; i++) {
		if (s->bucket[i].made == MADE_NONE)
			bucket_pack(g, i, passed);
	}
}

void
batch_finish(struct update_group *g, uint64_t passed)
{
	struct update_groups *s = g->set;

	if (g->error == 0) {
		for (struct update_member *m = g->members; m != NULL; m = m->next)
			behind_pass(m, passed);
		batch_compare(g);
		batch_pack(g, passed);
	}
	for (unsigned i = 0; i < s->change_count; i++)
		adj_record_put(s->records, s->change[i].old.record);
	batch_reset(s);
}

/* ---- the batch of a member behind ---- */

void
batch_put(struct update_member *m, struct dest_id id, const struct route_key *k, uint16_t made,
	uint32_t label)
{
	struct update_groups *s = m->group->set;
	struct change *c = batch_touch(m->group, id, k, (struct adj_route){0}, made, false, true);

	c->label = label;
	entry_add(s, MESSAGE_ONLY, m->id, made, (uint32_t)(c - s->change));
}

static bool
bucket_write(struct update_member *m, const struct bucket *b, struct bits *bits, struct output *o)
	RUNS_ON(role_session)
{
	struct update_group *g = m->group;
	struct update_groups *s = g->set;
	struct message head = {.kind = b->kind};
	size_t limit = BGP_MSG_MAX;

	for (uint32_t at = b->first; at != ENTRY_NONE;) {
		if (o->room < limit)
			return false;
		if (message_pack(g, b, &at, limit, &head)) {
			member_write(m, &head, s->message, o);
			g->stats.own_messages++;
			for (unsigned i = 0; i < head.id_count; i++)
				bits_clear(bits, (struct dest_id){s->message_id[i]});
		} else if (limit == BGP_MSG_MAX && g->rules.encode.extended_message) {
			limit = BGP_EXTENDED_MSG_MAX; /* RFC 8654 */
		} else { /* the set fits no message: the group will withdraw the destination */
			bits_clear(bits, s->change[s->entry[at].change].dest);
			at = s->entry[at].next;
		}
	}
	return true;
}

bool
batch_write(struct update_member *m, struct bits *b, struct output *o)
{
	struct update_groups *s = m->group->set;
	/* of another length: until the split */
	bool room = s->bucket_count == 0 || m->next_hop_len == m->group->rules.next_hop_len;

	for (unsigned i = 0; i < s->bucket_count && room; i++)
		room = bucket_write(m, &s->bucket[i], b, o);
	batch_reset(s);
	return room;
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
	key_copy(out, &v);
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
default_other(const struct update_group *g, struct dest_id id, const struct route_key *k,
	struct dest_id *other)
{
	if (k->prefix.len != 0 || g->labels) /* no default route is originated in VPN families */
		return false;
	*other = id.v == DEST_DEFAULT.v ? shards_find(&g->table, &k->prefix) : DEST_DEFAULT;
	return id.v != other->v;
}
