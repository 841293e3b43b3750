/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the stream is made: gather a batch of changes (from the journal, or a slice of a walk), group it by exported set, encode the
 * batch to its end, gather the next. Adj-RIB-Out is changed when a change is gathered, so at any time it is what the peer
 * has after the last octet of the present batch.
 *
 * A batch may hold one destination twice. What is sent for a set are only those destinations for which Adj-RIB-Out still
 * names this set, and withdrawals only where it names none; so announcements go before withdrawals without a newer
 * change ever being undone by an older one.
 */
#include "control/update_group.h"

#include "control/bgp_msg.h"
#include "control/threads.h"
#include "lpm/arena.h"
#include "rib/adj_rib_out.h"
#include "rib/walk.h"

#include <errno.h>
#include <string.h>

#define BATCH_CHANGES 2048u
#define BATCH_HASH (2 * BATCH_CHANGES)
#define CHANGE_NONE UINT32_MAX
#define BUCKET_NONE UINT16_MAX
#define JOURNAL_READ 256u
#define WALK_IDS 16384u /* of one slice: most of them change nothing in a policy walk */
#define OUTCOME_CACHE 1024u

/* Well-known communities (RFC 1997). */
#define COMMUNITY_NO_EXPORT 0xffffff01u
#define COMMUNITY_NO_ADVERTISE 0xffffff02u
#define COMMUNITY_NO_EXPORT_SUBCONFED 0xffffff03u

struct change {
	struct prefix prefix; /* the id may be somebody else's when it is sent */
	uint16_t unused;
	struct dest_id dest;
	uint32_t next; /* of the same bucket */
	uint32_t reserved;
};
static_assert(sizeof(struct change) == 32, "two a cache line");

/* The changes of one batch with the same exported set, in the order they came. */
struct bucket {
	struct attr_id set; /* 0: withdrawals */
	uint32_t first, last;
};

/* What policy and rules made of an accepted set; holds a reference on `exported` (0: nothing is sent). */
struct outcome {
	struct attr_id accepted;
	uint32_t serial;
	uint16_t slot; /* policy_verdict.outcome */
	uint8_t source;
	bool used;
	struct attr_id exported;
};

enum catch_up { CATCH_UP_NONE, CATCH_UP_ANNOUNCE, CATCH_UP_READ, CATCH_UP_WITHDRAW };
enum walk_kind { WALK_NONE, WALK_DUMP, WALK_REFRESH, WALK_POLICY };

struct update_group {
	struct update_group_config c;
	struct dest_table *table;
	struct attr_table *accepted;
	struct journal *journal;
	struct journal_cursor *cursor;
	struct adj_rib_out *out;
	struct policy_eval *eval;
	int error;
	bool left; /* being dismantled */

	/* the walk that runs, and those owed */
	enum walk_kind kind;
	struct walk walk;
	bool framed, first_sent;
	bool refresh_owed, refresh_framed;
	uint32_t policy_end; /* a walk that sends differences is owed over ids below this */

	/* Behind a lapped journal: the steps of rib/journal.h. Withdrawals up to `upto` come last. */
	enum catch_up catch_up;
	struct walk catch_up_walk;
	uint32_t reach_back, upto;

	/* of one encode call: eval_begin() was done for this */
	struct attr_id run_set;
	enum route_source run_source;
	bool run_valid;
	struct peer_id source_peer;
	enum route_source source_kind;
	bool source_valid;

	/* the batch */
	unsigned change_count, bucket_count, bucket_next;
	bool walk_turn; /* the next batch is the walk's, so that neither starves */
	struct change *change;
	struct bucket *bucket; /* [0] is the withdrawals, sent last */
	uint16_t *bucket_hash;

	struct attr_set *scratch;
	size_t scratch_size;
	struct outcome cache[OUTCOME_CACHE];
};

/* Where encoded messages go. */
struct output {
	uint8_t *p;
	size_t room;
	uint64_t deadline_ns;
	void (*mark)(void *ctx, enum update_group_mark m);
	void *ctx;
};

/* ---- life ---- */

static void
cache_clear(struct update_group *g)
{
	for (unsigned i = 0; i < OUTCOME_CACHE; i++) {
		if (g->cache[i].used && g->cache[i].exported.v != 0)
			attr_unref(g->c.exported, g->cache[i].exported);
		g->cache[i].used = false;
	}
	g->run_valid = false;
}

static void
batch_reset(struct update_group *g)
{
	g->change_count = 0;
	g->bucket_count = 1;
	g->bucket_next = 1;
	g->bucket[0] = (struct bucket){.first = CHANGE_NONE, .last = CHANGE_NONE};
	memset(g->bucket_hash, 0xff, BATCH_HASH * sizeof(*g->bucket_hash));
}

static int
group_alloc(struct update_group *g)
{
	struct arena *a = g->c.arena;
	int err;

	g->change = arena_alloc(a, BATCH_CHANGES * sizeof(*g->change));
	g->bucket = arena_alloc(a, (BATCH_CHANGES + 1) * sizeof(*g->bucket));
	g->bucket_hash = arena_alloc(a, BATCH_HASH * sizeof(*g->bucket_hash));
	g->scratch_size = 2048;
	g->scratch = arena_alloc(a, g->scratch_size);
	if (g->change == NULL || g->bucket == NULL || g->bucket_hash == NULL || g->scratch == NULL)
		return -ENOMEM;
	err = policy_eval_create(a, &g->eval);
	if (err == 0)
		err = adj_rib_out_create(a, g->c.exported, &g->out);
	return err;
}

int
update_group_create(const struct update_group_config *c, struct update_group **out)
{
	struct update_group *g = arena_calloc(c->arena, sizeof(*g));
	int err;

	if (g == NULL)
		return -ENOMEM;
	g->c = *c;
	if (g->c.batch == 0 || g->c.batch > BATCH_CHANGES)
		g->c.batch = BATCH_CHANGES;
	g->table = shard_table(c->shard, c->table);
	g->accepted = shard_attrs(c->shard);
	g->journal = shard_journal(c->shard);
	err = group_alloc(g);
	if (err == 0)
		err = journal_subscribe(g->journal, &g->cursor);
	if (err < 0) {
		update_group_destroy(g);
		return err;
	}
	batch_reset(g);
	/* The cursor first: what changes behind the walk's back is in the journal. */
	g->kind = WALK_DUMP;
	walk_begin(&g->walk, g->table);
	*out = g;
	return 0;
}

/* What others wait for, and all that is small. */
static void
group_leave(struct update_group *g)
{
	struct arena *a = g->c.arena;

	if (g->left)
		return;
	g->left = true;
	cache_clear(g);
	if (g->cursor != NULL)
		journal_unsubscribe(g->journal, g->cursor);
	if (g->eval != NULL)
		policy_eval_destroy(g->eval);
	arena_free(a, g->change);
	arena_free(a, g->bucket);
	arena_free(a, g->bucket_hash);
	arena_free(a, g->scratch);
}

bool
update_group_dismantle(struct update_group *g, uint64_t deadline_ns)
{
	group_leave(g);
	while (g->out != NULL && adj_rib_out_dismantle(g->out)) {
		if (now_ns() >= deadline_ns)
			return true;
	}
	adj_rib_out_destroy(g->out);
	arena_free(g->c.arena, g);
	return false;
}

void
update_group_destroy(struct update_group *g)
{
	if (g != NULL)
		update_group_dismantle(g, UINT64_MAX);
}

/*
 * A running walk takes the new rules where it stands; what it visited before is gone over once more, for differences.
 */
static void
policy_walk_owe(struct update_group *g)
{
	uint32_t end = dest_limit(g->table);

	cache_clear(g);
	if (g->kind != WALK_NONE) {
		g->walk.end = end; /* younger ones came by the journal, under the old rules */
		end = g->walk.next;
	}
	if (end > g->policy_end)
		g->policy_end = end;
}

void
update_group_policy(struct update_group *g, const struct policy *p)
{
	g->c.policy = p;
	policy_walk_owe(g);
}

void
update_group_next_hop(struct update_group *g, bool next_hop_self, bool next_hop_unchanged)
{
	g->c.next_hop_self = next_hop_self;
	g->c.next_hop_unchanged = next_hop_unchanged;
	policy_walk_owe(g);
}

void
update_group_refresh(struct update_group *g, bool framed)
{
	g->refresh_owed = true;
	g->refresh_framed = framed;
}

uint64_t
update_group_advertised(const struct update_group *g)
{
	return adj_rib_out_count(g->out);
}

const struct attr_set *
update_group_exported(const struct update_group *g, struct dest_id dest)
{
	struct attr_id id = adj_rib_out_get(g->out, dest);

	return id.v != 0 ? attr_get(g->c.exported, id) : NULL;
}

int
update_group_error(const struct update_group *g)
{
	return g->error;
}

bool
update_group_pending(const struct update_group *g)
{
	if (g->error != 0)
		return false;
	return g->change_count > 0 || g->kind != WALK_NONE || g->refresh_owed ||
	       g->policy_end > 0 || g->catch_up != CATCH_UP_NONE ||
	       journal_head(g->journal) != journal_position(g->cursor);
}

/* ---- what a destination is to this peer ---- */

static enum route_source
source_of(struct update_group *g, struct peer_id peer)
{
	struct shard_peer p;

	if (peer.v == PEER_SELF.v)
		return SOURCE_NETWORK;
	if (g->source_valid && g->source_peer.v == peer.v)
		return g->source_kind;
	g->source_kind = shard_peer_peek(g->c.shard, peer, &p) && !p.external ? SOURCE_INTERNAL
									      : SOURCE_EXTERNAL;
	g->source_peer = peer;
	g->source_valid = true;
	return g->source_kind;
}

/* RFC 1997: they bind whoever got the route with them, whatever the export policy adds for the peer to obey. */
static bool
communities_forbid(const struct update_group *g, const struct attr_set *a)
{
	const uint8_t *p = attr_communities(a);

	for (unsigned i = 0; i < a->community_count; i++, p += 4) {
		uint32_t c =
			(uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];

		if (c == COMMUNITY_NO_ADVERTISE)
			return true;
		if (g->c.external &&
			(c == COMMUNITY_NO_EXPORT || c == COMMUNITY_NO_EXPORT_SUBCONFED))
			return true;
	}
	return false;
}

/* False: there is none of the family that the encoding needs (RFC 8950 is not negotiated). */
static bool
next_hop_choose(const struct update_group *g, const struct attr_set *before, struct attr_set *s)
{
	bool by_policy = !addr_equal(&before->next_hop, &s->next_hop);
	bool self = g->c.external ? !g->c.next_hop_unchanged : g->c.next_hop_self;

	if (!by_policy && (self || s->next_hop.afi == AFI_NONE)) {
		s->next_hop = g->c.local_addr;
		memset(&s->next_hop_link_local, 0, sizeof(s->next_hop_link_local));
	}
	return s->next_hop.afi == family_afi(g->c.family);
}

/* RFC 4360 6: extended communities that are not transitive stay in the AS. */
static void
ext_communities_strip(struct attr_set *s)
{
	uint8_t *p = s->var + (attr_ext_communities(s) - s->var),
		*end = s->var + attr_set_var_len(s);

	for (unsigned i = s->ext_community_count; i > 0; i--) {
		if (!(p[0] & 0x40)) {
			p += 8;
			continue;
		}
		memmove(p, p + 8, (size_t)(end - p - 8));
		end -= 8;
		s->ext_community_count--;
	}
}

/* RFC 4271 5.1.4, 5.1.5; RFC 4456 8: what does not leave the AS. */
static void
internal_attrs_strip(struct attr_set *s, const struct attr_set *before, enum route_source source)
{
	size_t cluster_len = 4u * s->cluster_count;
	uint8_t *cluster;
	bool med_by_policy =
		(s->has & ATTR_HAS_MED) && (!(before->has & ATTR_HAS_MED) || before->med != s->med);

	ext_communities_strip(s);
	cluster = s->var + (attr_cluster_list(s) - s->var);
	if (cluster_len > 0) {
		memmove(cluster, cluster + cluster_len, s->unknown_len);
		s->cluster_count = 0;
	}
	s->has &= ~(uint32_t)(ATTR_HAS_LOCAL_PREF | ATTR_HAS_ORIGINATOR_ID);
	s->local_pref = 0;
	s->originator_id = 0;
	if (!med_by_policy && source != SOURCE_NETWORK) {
		s->has &= ~(uint32_t)ATTR_HAS_MED;
		s->med = 0;
	}
}

static int
scratch_reserve(struct update_group *g, size_t size)
{
	struct attr_set *p;

	if (size <= g->scratch_size)
		return 0;
	p = arena_realloc(g->c.arena, g->scratch, size);
	if (p == NULL)
		return -ENOMEM;
	g->scratch = p;
	g->scratch_size = size;
	return 0;
}

/* `after`: what policy made of `before`. *out gets a reference, or is 0. 0, -ENOMEM. */
static int
exported_make(struct update_group *g, const struct attr_set *before, const struct attr_set *after,
	enum route_source source, struct attr_id *out)
{
	size_t size = attr_set_size(after) + 8; /* one segment more, at most */
	struct attr_set *s;
	int err = scratch_reserve(g, size);

	if (err < 0)
		return err;
	s = g->scratch;
	if (g->c.external) {
		err = attr_set_prepend(
			after, g->c.local_as, 1, s, g->scratch_size); /* RFC 4271 5.1.2 */
		if (err < 0)
			return err == -ENOSPC
				       ? 0
				       : err; /* a path as long as the length field can say */
		internal_attrs_strip(s, before, source);
	} else {
		memcpy(s, after, attr_set_size(after));
		if (!(s->has & ATTR_HAS_LOCAL_PREF)) { /* RFC 4271 5.1.5 */
			s->has |= ATTR_HAS_LOCAL_PREF;
			s->local_pref = 100;
		}
	}
	if (!next_hop_choose(g, before, s))
		return 0;
	return attr_intern(g->c.exported, s, 1, out);
}

/* True: *set is what the cache knows, with a reference. */
static bool
cache_find(struct update_group *g, const struct outcome *key, struct outcome **slot,
	struct attr_id *set)
{
	uint64_t h =
		hash_mix((uint64_t)key->accepted.v << 24 | (uint64_t)key->slot << 8 | key->source);
	struct outcome *o = &g->cache[h % OUTCOME_CACHE];

	*slot = o;
	if (!o->used || o->accepted.v != key->accepted.v || o->serial != key->serial ||
		o->slot != key->slot || o->source != key->source)
		return false;
	*set = o->exported;
	if (set->v != 0)
		attr_ref(g->c.exported, *set, 1);
	return true;
}

static void
cache_store(
	struct update_group *g, struct outcome *slot, const struct outcome *key, struct attr_id set)
{
	if (slot->used && slot->exported.v != 0)
		attr_unref(g->c.exported, slot->exported);
	*slot = *key;
	slot->used = true;
	slot->exported = set;
	if (set.v != 0)
		attr_ref(g->c.exported, set, 1);
}

/* Policy's verdict. All that hangs on the attributes is done once for a run of the same set. 0, -ENOMEM. */
static int
policy_run(struct update_group *g, const struct rib_path *best, const struct attr_set *attrs,
	enum route_source source, const struct prefix *prefix, struct policy_verdict *v)
{
	int err = 0;

	*v = (struct policy_verdict){.permit = true, .attrs = attrs};
	if (g->c.policy == NULL || g->c.policy == policy_accept_all())
		return 0;
	if (!g->run_valid || g->run_set.v != best->accepted.v || g->run_source != source) {
		struct policy_context context = g->c.context;

		context.source = source;
		err = policy_eval_begin(g->eval, g->c.policy, attrs, &context);
		g->run_set = best->accepted;
		g->run_source = source;
		g->run_valid = err == 0;
	}
	return err < 0 ? err : policy_eval_prefix(g->eval, prefix, v);
}

/* *set: what this peer is to have, with a reference; 0: nothing. 0, -ENOMEM. */
static int
export_evaluate(struct update_group *g, const struct dest_view *view, struct attr_id *set)
{
	const struct rib_path *best;
	const struct attr_set *attrs;
	struct policy_verdict v;
	struct outcome key, *slot;
	enum route_source source;
	int err;

	set->v = 0;
	if (view->paths == NULL || view->paths->eligible == 0)
		return 0;
	best = &view->paths->path[0];
	if (best->peer.v == g->c.member.v || (g->c.external && g->c.policy == NULL)) /* RFC 8212 */
		return 0;
	source = source_of(g, best->peer);
	if (source == SOURCE_INTERNAL && !g->c.external) /* RFC 4271 9.2; RFC 4456, not done */
		return 0;
	attrs = attr_get(g->accepted, best->accepted);
	if (attrs == NULL || communities_forbid(g, attrs))
		return 0;
	err = policy_run(g, best, attrs, source, &view->prefix, &v);
	if (err < 0 || !v.permit)
		return err;
	key = (struct outcome){.accepted = best->accepted,
		.serial = attr_serial(g->accepted, best->accepted),
		.slot = (uint16_t)v.outcome,
		.source = (uint8_t)source};
	if (cache_find(g, &key, &slot, set))
		return 0;
	err = exported_make(g, attrs, v.attrs, source, set);
	if (err == 0)
		cache_store(g, slot, &key, *set);
	return err;
}

/* ---- gathering ---- */

static struct bucket *
bucket_of(struct update_group *g, struct attr_id set)
{
	struct bucket *b = &g->bucket[g->bucket_count - 1];
	unsigned h;

	if (set.v == 0)
		return &g->bucket[0];
	if (b->set.v == set.v)
		return b;
	for (h = (unsigned)hash_mix(set.v) % BATCH_HASH; g->bucket_hash[h] != BUCKET_NONE;
		h = (h + 1) % BATCH_HASH) {
		b = &g->bucket[g->bucket_hash[h]];
		if (b->set.v == set.v)
			return b;
	}
	g->bucket_hash[h] = (uint16_t)g->bucket_count;
	b = &g->bucket[g->bucket_count++];
	*b = (struct bucket){.set = set, .first = CHANGE_NONE, .last = CHANGE_NONE};
	return b;
}

static void
bucket_append(struct update_group *g, struct bucket *b, uint32_t i)
{
	g->change[i].next = CHANGE_NONE;
	if (b->first == CHANGE_NONE)
		b->first = i;
	else
		g->change[b->last].next = i;
	b->last = i;
}

static void
batch_add(struct update_group *g, struct dest_id dest, const struct prefix *prefix,
	struct attr_id set)
{
	uint32_t i = g->change_count++;

	g->change[i].prefix = *prefix;
	g->change[i].dest = dest;
	bucket_append(g, bucket_of(g, set), i);
}

static bool
batch_full(const struct update_group *g)
{
	return g->change_count == g->c.batch;
}

/* Its last change is still in front of our cursor: a withdrawal belongs there. */
static bool
journal_ahead(const struct update_group *g, const struct dest_view *view)
{
	uint64_t passed = journal_passed(g->cursor);
	uint32_t ahead = view->sequence - (uint32_t)passed;

	/* One that is published may not be appended yet. Further beyond the head: an old one, by wrapping. */
	return ahead != 0 && ahead <= (uint32_t)(journal_head(g->journal) + 1 - passed);
}

/* Into Adj-RIB-Out and the batch. Takes over the reference on `set`. `always`: also when it is there already. */
static void
change_apply(struct update_group *g, struct dest_id dest, const struct prefix *prefix,
	struct attr_id set, bool always)
{
	bool changed;
	int err = adj_rib_out_set(g->out, dest, set, &changed);

	if (err < 0) {
		attr_unref(g->c.exported, set); /* a withdrawal allocates nothing */
		g->error = err;
	} else if (changed || (always && set.v != 0)) {
		batch_add(g, dest, prefix, set);
	}
}

static bool
visit_walk(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	bool always = g->kind == WALK_REFRESH;
	struct attr_id set, old;
	int err = export_evaluate(g, view, &set);

	if (err < 0) {
		g->error = err;
		return false;
	}
	if (set.v != 0) {
		change_apply(g, id, &view->prefix, set, always);
	} else {
		journal_passed_over(g->journal, g->cursor, view);
		old = adj_rib_out_get(g->out, id);
		if (old.v == 0)
			return true;
		if (!journal_ahead(g, view))
			change_apply(g, id, &view->prefix, set, false);
		else if (
			always) /* its withdrawal comes by the journal; until then EoRR must not take it away */
			batch_add(g, id, &view->prefix, old);
	}
	if (g->kind == WALK_REFRESH && g->change_count > 0)
		g->first_sent = true;
	return g->error == 0 && !batch_full(g);
}

/* First walk behind a lapped journal: what changed since and is there. */
static bool
visit_announce(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	struct attr_id set;
	int err;

	if ((int32_t)(view->sequence - g->reach_back) <= 0)
		return true;
	err = export_evaluate(g, view, &set);
	if (err < 0)
		g->error = err;
	else if (set.v != 0)
		change_apply(g, id, &view->prefix, set, false);
	else
		journal_passed_over(g->journal, g->cursor, view);
	return g->error == 0 && !batch_full(g);
}

/* Second walk: what is gone. Later withdrawals come by the journal. */
static bool
visit_withdraw(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct update_group *g = ctx;
	struct attr_id set;
	int err;

	if (adj_rib_out_get(g->out, id).v == 0 || (int32_t)(view->sequence - g->upto) > 0)
		return true;
	err = export_evaluate(g, view, &set);
	if (err < 0)
		g->error = err;
	else
		change_apply(g, id, &view->prefix, set, false);
	return g->error == 0 && !batch_full(g);
}

static void
catch_up_begin(struct update_group *g)
{
	/* Pinned, the tombstones stay: an id that we still advertise must not become another prefix. */
	journal_pin(g->cursor);
	g->reach_back = (uint32_t)journal_resume(g->journal, g->cursor);
	g->catch_up = CATCH_UP_ANNOUNCE;
	walk_begin(&g->catch_up_walk, g->table);
}

/* After each batch of the journal on the way: has every withdrawal come that one waits for? */
static void
catch_up_settle(struct update_group *g)
{
	if (g->catch_up != CATCH_UP_READ || !journal_settled(g->cursor))
		return;
	g->upto = (uint32_t)journal_position(g->cursor);
	g->catch_up = CATCH_UP_WITHDRAW;
	walk_begin(&g->catch_up_walk, g->table);
}

static void
catch_up_slice(struct update_group *g, uint64_t deadline_ns)
{
	walk_visit *visit = g->catch_up == CATCH_UP_ANNOUNCE ? visit_announce : visit_withdraw;

	if (walk_slice(&g->catch_up_walk, WALK_IDS, deadline_ns, now_ns, visit, g) || g->error != 0)
		return;
	if (g->catch_up == CATCH_UP_ANNOUNCE) {
		g->catch_up = CATCH_UP_READ;
		catch_up_settle(g);
	} else {
		g->catch_up = CATCH_UP_NONE;
		journal_unpin(g->cursor);
	}
}

/* One entry. A change may be taken early, a withdrawal only where the journal allows it. */
static void
journal_take(struct update_group *g, const struct journal_entry *e)
{
	struct dest_view view;
	struct attr_id set;
	int err;

	if (e->table.v != g->c.table.v || !dest_peek(g->table, e->dest, &view))
		return;
	err = export_evaluate(g, &view, &set);
	if (err < 0)
		g->error = err;
	else if (set.v != 0 || journal_may_withdraw(g->cursor, e, &view))
		change_apply(g, e->dest, &view.prefix, set, false);
}

static void
journal_gather(struct update_group *g, uint64_t deadline_ns)
{
	struct journal_entry e[JOURNAL_READ];
	int n, i;

	while (!batch_full(g)) {
		n = journal_read(g->journal, g->cursor, e, JOURNAL_READ);
		if (n == -EOVERFLOW) {
			catch_up_begin(g);
			return;
		}
		if (n <= 0)
			return;
		i = 0;
		while (i < n && g->error == 0 && !batch_full(g))
			journal_take(g, &e[i++]);
		if (g->error != 0)
			return;
		journal_advance(g->journal, g->cursor, e[i - 1].sequence);
		catch_up_settle(g);
		if (g->catch_up == CATCH_UP_WITHDRAW || now_ns() >= deadline_ns)
			return;
	}
}

/* Fills the batch. The journal and a walk take turns. */
static void
gather(struct update_group *g, uint64_t deadline_ns)
{
	if (g->catch_up == CATCH_UP_ANNOUNCE || g->catch_up == CATCH_UP_WITHDRAW) {
		catch_up_slice(g, deadline_ns);
		return;
	}
	if (g->catch_up == CATCH_UP_READ) {
		journal_gather(g, deadline_ns);
		return;
	}
	g->walk_turn = !g->walk_turn;
	if (g->walk_turn && g->kind != WALK_NONE && !walk_done(&g->walk)) {
		walk_slice(&g->walk, WALK_IDS, deadline_ns, now_ns, visit_walk, g);
		return;
	}
	journal_gather(g, deadline_ns);
}

/* ---- encoding ---- */

static void
output_take(struct output *o, size_t len)
{
	o->p += len;
	o->room -= len;
}

static bool
change_holds(const struct update_group *g, const struct bucket *b)
{
	return adj_rib_out_get(g->out, g->change[b->first].dest).v == b->set.v;
}

static void
bucket_skip_superseded(struct update_group *g, struct bucket *b)
{
	while (b->first != CHANGE_NONE && !change_holds(g, b))
		b->first = g->change[b->first].next;
}

/* One message of at most `limit` octets. Its length; 0: the attributes leave no room for a prefix. */
static size_t
bucket_message(struct update_group *g, struct bucket *b, uint8_t *buf, size_t limit)
{
	const struct attr_set *attrs = b->set.v != 0 ? attr_get(g->c.exported, b->set) : NULL;
	struct update_packer u;
	uint32_t first = b->first;

	if (!update_packer_begin(&u, g->c.family, attrs, &g->c.encode, buf, limit))
		return 0;
	while (b->first != CHANGE_NONE) {
		if (!change_holds(g, b)) {
			b->first = g->change[b->first].next;
			continue;
		}
		if (!update_packer_add(&u, &g->change[b->first].prefix, 0))
			break;
		b->first = g->change[b->first].next;
	}
	if (u.count == 0) {
		b->first = first;
		return 0;
	}
	return update_packer_finish(&u);
}

/* A set that fits no message of this session can't be told: the peer must not keep what it had before. */
static void
bucket_give_up(struct update_group *g, struct bucket *b)
{
	bool changed;

	while (b->first != CHANGE_NONE) {
		uint32_t i = b->first;

		b->first = g->change[i].next;
		if (adj_rib_out_get(g->out, g->change[i].dest).v != b->set.v)
			continue;
		adj_rib_out_set(g->out, g->change[i].dest, (struct attr_id){0}, &changed);
		bucket_append(g, &g->bucket[0], i);
	}
}

/* False: no room, or no time. */
static bool
bucket_emit(struct update_group *g, struct bucket *b, struct output *o)
{
	for (;;) {
		size_t len;

		bucket_skip_superseded(g, b);
		if (b->first == CHANGE_NONE)
			return true;
		/* A message begins only where the largest would fit: no small ones at the end of each buffer. */
		if (o->room < BGP_MSG_MAX || now_ns() >= o->deadline_ns)
			return false;
		len = bucket_message(g, b, o->p, BGP_MSG_MAX);
		if (len == 0 && g->c.encode.extended_message) { /* RFC 8654 */
			if (o->room < BGP_EXTENDED_MSG_MAX)
				return false;
			len = bucket_message(g, b, o->p, BGP_EXTENDED_MSG_MAX);
		}
		if (len == 0)
			bucket_give_up(g, b);
		output_take(o, len);
	}
}

/* The whole batch: announcements, then withdrawals. False: not to its end. */
static bool
batch_emit(struct update_group *g, struct output *o)
{
	for (; g->bucket_next < g->bucket_count; g->bucket_next++) {
		if (!bucket_emit(g, &g->bucket[g->bucket_next], o))
			return false;
	}
	if (!bucket_emit(g, &g->bucket[0], o))
		return false;
	batch_reset(g);
	return true;
}

static void
policy_walk_begin(struct update_group *g)
{
	g->kind = WALK_POLICY;
	walk_begin(&g->walk, g->table);
	if (g->walk.end > g->policy_end)
		g->walk.end = g->policy_end;
	g->policy_end = 0;
}

/* False: nothing to begin. */
static bool
walk_start(struct update_group *g, struct output *o)
{
	if (g->refresh_owed) {
		g->refresh_owed = false;
		g->kind = WALK_REFRESH;
		g->framed = g->refresh_framed;
		g->first_sent = false;
		walk_begin(&g->walk, g->table);
		/* It sends all there is by the present policy: nothing is left for a walk of differences. */
		g->policy_end = 0;
		if (g->framed) {
			output_take(
				o, bgp_refresh_encode(g->c.family, REFRESH_BEGIN, o->p, o->room));
			o->mark(o->ctx, MARK_BORR);
		}
		return true;
	}
	if (g->policy_end > 0) {
		policy_walk_begin(g);
		return true;
	}
	return false;
}

static void
walk_end(struct update_group *g, struct output *o)
{
	enum walk_kind kind = g->kind;

	g->kind = WALK_NONE;
	switch (kind) {
	case WALK_NONE:
		break;
	case WALK_DUMP:
		output_take(o, bgp_end_of_rib_encode(g->c.family, o->p, o->room));
		o->mark(o->ctx, MARK_END_OF_RIB);
		break;
	case WALK_REFRESH:
		if (g->framed) {
			output_take(o, bgp_refresh_encode(g->c.family, REFRESH_END, o->p, o->room));
			o->mark(o->ctx, MARK_EORR);
		}
		o->mark(o->ctx, MARK_WALK_DONE);
		break;
	case WALK_POLICY:
		o->mark(o->ctx, MARK_POLICY_DONE);
		break;
	}
}

/*
 * What lies between two batches: a walk's end or beginning with its messages. False: no room. *progress: something was done.
 */
static bool
walk_frame(struct update_group *g, struct output *o, bool *progress)
{
	*progress = false;
	if (g->catch_up != CATCH_UP_NONE || (g->kind != WALK_NONE && !walk_done(&g->walk)))
		return true;
	if (g->kind == WALK_NONE && !g->refresh_owed && g->policy_end == 0)
		return true;
	if (o->room < BGP_MSG_MAX)
		return false;
	if (g->kind != WALK_NONE) {
		walk_end(g, o);
		*progress = true;
	} else {
		*progress = walk_start(g, o);
	}
	return true;
}

static void
encode_run(struct update_group *g, struct output *o) RUNS_ON(role_session)
{
	bool told = g->first_sent, progress;

	while (g->error == 0) {
		if (g->change_count > 0 && !batch_emit(g, o))
			return;
		if (!walk_frame(g, o, &progress))
			return;
		if (progress) {
			told = g->first_sent;
			continue;
		}
		if (now_ns() >= o->deadline_ns || !update_group_pending(g))
			return;
		gather(g, o->deadline_ns);
		if (g->first_sent && !told) {
			told = true;
			o->mark(o->ctx, MARK_FIRST_ENTRY);
		}
	}
}

size_t
update_group_encode(struct update_group *g, uint8_t *buf, size_t size, uint64_t deadline_ns,
	bool *more, void (*mark)(void *ctx, enum update_group_mark m), void *ctx)
{
	struct output o = {
		.p = buf, .room = size, .deadline_ns = deadline_ns, .mark = mark, .ctx = ctx};

	/* The shard's sets were lent until the last quiescent report. */
	g->run_valid = false;
	g->source_valid = false;
	encode_run(g, &o);
	*more = update_group_pending(g);
	return size - o.room;
}
