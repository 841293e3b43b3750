/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Applies records. The attribute set of an UPDATE is checked and evaluated once, then applied to
 * each prefix. A slice may end within a record; the next slice evaluates the rest again, because a
 * command may have changed the policy.
 */
#include "rib/shard/shard_impl.h"

#include <errno.h>

#define CLOCK_EVERY 32u /* records or prefixes between two looks at the clock: some 10 us */
#define EFFORT_MAX 64u /* as CLOCK_EVERY, in paths read: a destination may have many */

static bool record_due(struct shard *s, const struct rib_record *rec, bool await);

/* The current record. */
struct import {
	struct shard *s;
	const struct rib_record *rec;
	const struct attr_packed *attrs; /* NULL: withdraw */
	const struct attr_set *unpacked; /* for the import policy; NULL: no policy runs */
	struct shard_table *table;
	struct shard_rib_in *rib;
	enum import_result import_result;
	enum decision_reason reason; /* for refused prefixes */
	uint32_t node; /* of the policy: the node that decided the last prefix; 0: no node */
	/* with keep_all_routes: `attrs`, with a reference held; otherwise .v == 0 */
	struct attr_id received;
};

/* Fills in the next hop of out->id. `attrs`: the fixed part of the set, without `origin_asn`. Drops the reference on out->id on failure. */
static int
accepted_next_hop(struct shard *s, struct vrf_id vrf, struct peer_id peer,
	const struct attr_set *attrs, struct shard_accepted *out) RUNS_ON(role_rib)
{
	uint32_t med = (attrs->has & ATTR_HAS_MED) != 0 && attrs->med != 0 ? PATH_MED : 0;
	int err;

	out->next_hop = NULL;
	out->received.v = 0;
	out->flags = PATH_NEXT_HOP_UP | med;
	if (peer.v == PEER_SELF.v)
		return 0;
	if (attrs->first_asn != s->near_as[peer.v])
		near_as_set(s, peer, NEAR_AS_ANY);
	err = next_hop_hold(
		s, vrf, out->id, decision_attr_key(attrs), attr_next_hop(attrs), &out->next_hop);
	if (err != 0)
		attr_unref(s->attrs, out->id, 1);
	else if (!next_hop_eligible(s, shard_slot(s, peer), peer, out->next_hop, NULL))
		out->flags = med;
	return err;
}

/* As accepted_next_hop(), for a set that is not at hand. */
static int
accepted_unpack(struct shard *s, struct vrf_id vrf, struct peer_id peer, struct shard_accepted *out)
	RUNS_ON(role_rib)
{
	struct attr_set fixed;

	return accepted_next_hop(
		s, vrf, peer, attr_unpack_fixed(attr_get(s->attrs, out->id), &fixed), out);
}

int
accepted_get(struct shard *s, struct vrf_id vrf, struct peer_id peer,
	const struct attr_packed *like, const struct attr_set *attrs, struct shard_accepted *out)
{
	int err;

	attr_table_owner(s->attrs, peer.v);
	err = attr_intern_like(s->attrs, like, attrs, 1, &out->id);
	return err != 0 ? err : accepted_next_hop(s, vrf, peer, attrs, out);
}

int
accepted_hold(struct shard *s, struct vrf_id vrf, struct peer_id peer, struct attr_id id,
	struct shard_accepted *out)
{
	int err = 0;

	out->id = id;
	if (!attr_ref_again(s->attrs, id, 1)) {
		const struct attr_packed *p = attr_get(s->attrs, id);
		size_t size = attr_packed_size(p);

		attr_table_owner(s->attrs, peer.v);
		err = attr_intern_packed(s->attrs, p, size, attr_packed_hash(p, size), 1, &out->id);
	}
	return err != 0 ? err : accepted_unpack(s, vrf, peer, out);
}

void
accepted_put(struct shard *s, struct shard_accepted *acc)
{
	if (acc->next_hop != NULL)
		acc->next_hop->users--;
	attr_unref(s->attrs, acc->id, 1);
}

void
shard_sample_add(struct shard *s, uint64_t received_ns)
{
	uint64_t count = shard_load(&s->sample_count), first = journal_next_sequence(s->journal);
	struct shard_sample *newest = &s->sample[(count - 1) % SHARD_SAMPLES];
	uint64_t at = count > 0 ? shard_load(&newest->received_ns) : UINT64_MAX;

	if (at == received_ns ||
		(at != 0 && received_ns > at && received_ns - at < SHARD_SAMPLE_NS))
		return;
	if (count == 0 || shard_load(&newest->first) != first) {
		newest = &s->sample[count % SHARD_SAMPLES];
		count++;
	}
	atomic_store_explicit(&newest->received_ns, received_ns, memory_order_relaxed);
	atomic_store_explicit(&newest->first, first, memory_order_relaxed);
	/* release: pairs with the acquire in shard_received_ns */
	atomic_store_explicit(&s->sample_count, count, memory_order_release);
}

/*
 * The loop for which a route is refused; DECISION_EQUAL without a loop. CLUSTER_LIST and
 * ORIGINATOR_ID are valid from internal peers only; the decoder drops these attributes of external
 * peers (RFC 7606 7.9, 7.10).
 */
static enum decision_reason
loops(const struct shard *s, const struct shard_peer_slot *slot, uint32_t local_as,
	unsigned allow_as_in, uint32_t cluster_id, const struct attr_packed *a)
{
	/*
	 * RFC 4271 9.1.2. The number towards this peer is ours, too. The numbers towards other peers
	 * are not: a part of a merged AS that still uses one reaches us by this peer.
	 */
	if (attr_packed_as_path_count(a, s->config.own_asn) > allow_as_in ||
		(local_as != 0 && local_as != s->config.own_asn &&
			attr_packed_as_path_count(a, local_as) > allow_as_in))
		return DECISION_AS_LOOP;
	if (atomic_load_explicit(&slot->external, memory_order_relaxed))
		return DECISION_EQUAL;
	/* RFC 4456 8 */
	if (attr_packed_originator_is(a, s->config.router_id))
		return DECISION_ORIGINATOR_LOOP;
	if (attr_packed_cluster_contains(a, cluster_id))
		return DECISION_CLUSTER_LOOP;
	return DECISION_EQUAL;
}

enum decision_reason
shard_loops(const struct shard *s, struct peer_id id, unsigned allow_as_in, uint32_t cluster_id,
	const struct attr_packed *a)
{
	const struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_peer peer;

	return slot != NULL && shard_peer_peek(s, id, &peer)
		       ? loops(s, slot, peer.local_as, allow_as_in, cluster_id, a)
		       : DECISION_EQUAL;
}

enum import_result
import_evaluate(const struct shard *s, const struct shard_peer_slot *slot, enum family family,
	const struct attr_packed *attrs, enum decision_reason *reason)
{
	const struct shard_peer *key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	const struct policy *policy = slot->rib[family].import;

	*reason =
		loops(s, slot, key->local_as, key->allow_as_in[family], shard_cluster_id(s), attrs);
	if (*reason != DECISION_EQUAL)
		return REFUSE_ALL;
	*reason = DECISION_NO_POLICY;
	if (policy == NULL && atomic_load_explicit(&slot->external, memory_order_relaxed))
		return REFUSE_ALL; /* RFC 8212 */
	*reason = DECISION_REJECTED_BY_POLICY;
	if (policy == policy_deny_all())
		return REFUSE_ALL;
	return policy == NULL || policy == policy_accept_all() ? ACCEPT_ALL : ASK_POLICY;
}

void
import_context(const struct shard *s, const struct shard_peer_slot *slot, enum family family,
	struct policy_context *out)
{
	bool external = atomic_load_explicit(&slot->external, memory_order_relaxed);
	const struct shard_peer *peer = atomic_load_explicit(&slot->key, memory_order_relaxed);

	*out = (struct policy_context){
		.peer = peer->addr,
		.peer_asn = asn_of(slot),
		.peer_group = peer->group_key,
		.family = family,
		.source = external ? SOURCE_EXTERNAL : SOURCE_INTERNAL,
		.vrps = family_safi(family) == SAFI_UNICAST ? s->vrps : NULL,
		.own_asn = s->config.own_asn,
	};
}

static int
intern_received(struct import *m, struct attr_id *out) RUNS_ON(role_rib)
{
	size_t size = attr_packed_size(m->attrs);
	uint32_t hash = m->rec->attrs_hash;

	return attr_intern_packed(m->s->attrs, m->attrs, size,
		hash != 0 ? hash : attr_packed_hash(m->attrs, size), 1, out);
}

static int
evaluate(struct import *m, const struct shard_peer_slot *slot) RUNS_ON(role_rib)
{
	struct policy_context context;
	int err = 0;

	m->received.v = 0;
	m->import_result = import_evaluate(m->s, slot, m->table->family, m->attrs, &m->reason);
	if (m->import_result == ASK_POLICY) {
		import_context(m->s, slot, m->table->family, &context);
		m->unpacked = attr_unpack(m->attrs, m->s->unpacked);
		err = policy_eval_begin(m->s->eval, m->rib->import, m->unpacked, &context);
	}
	if (err == 0 && m->rib->keep)
		err = intern_received(m, &m->received);
	return err;
}

/* *acc NULL: refused. */
static int
verdict_of(struct import *m, const struct prefix *p, struct shard_accepted **acc) RUNS_ON(role_rib)
{
	struct policy_verdict v = {.permit = true, .attrs = m->unpacked, .outcome = 0};
	struct shard *s = m->s;
	int err;

	*acc = NULL;
	if (m->import_result == REFUSE_ALL)
		return 0;
	if (m->import_result == ASK_POLICY) {
		err = policy_eval_prefix(s->eval, p, &v);
		if (err != 0)
			return err;
		m->node = v.seq;
		if (!v.permit)
			return 0;
	}
	*acc = accepted_find(s, v.outcome);
	if (*acc != NULL)
		return 0;
	*acc = accepted_place(s, v.outcome);
	if (v.outcome == 0 && m->received.v != 0) {
		err = accepted_hold(s, m->table->vrf, m->rec->peer, m->received, *acc);
	} else if (v.attrs == m->unpacked) {
		err = intern_received(m, &(*acc)->id);
		if (err == 0 && m->unpacked != NULL)
			err = accepted_next_hop(s, m->table->vrf, m->rec->peer, m->unpacked, *acc);
		else if (err == 0)
			err = accepted_unpack(s, m->table->vrf, m->rec->peer, *acc);
	} else {
		bool like = (v.sets & (POLICY_SETS_NEXT_HOP | POLICY_SETS_OTHER)) == 0;

		err = accepted_get(
			s, m->table->vrf, m->rec->peer, like ? m->attrs : NULL, v.attrs, *acc);
	}
	if (err != 0)
		return err;
	(*acc)->received = m->received;
	accepted_keep(s, *acc, v.outcome);
	return 0;
}

struct shard_accepted *
accepted_find(struct shard *s, uint64_t outcome)
{
	unsigned place = policy_outcome_place(outcome);
	struct shard_accepted *acc = &s->accepted[place];

	return s->accepted_filled >> place & 1 && acc->outcome == outcome &&
			       outcome != POLICY_OUTCOME_ALONE
		       ? acc
		       : NULL;
}

struct shard_accepted *
accepted_place(struct shard *s, uint64_t outcome)
{
	unsigned place = policy_outcome_place(outcome);

	if (s->accepted_filled >> place & 1)
		accepted_put(s, &s->accepted[place]);
	s->accepted_filled &= ~(1ull << place);
	return &s->accepted[place];
}

void
accepted_keep(struct shard *s, struct shard_accepted *acc, uint64_t outcome)
{
	acc->outcome = outcome;
	s->accepted_filled |= 1ull << policy_outcome_place(outcome);
}

void
verdicts_end(struct shard *s) RUNS_ON(role_rib)
{
	for (; s->accepted_filled != 0; s->accepted_filled &= s->accepted_filled - 1)
		accepted_put(s, &s->accepted[__builtin_ctzll(s->accepted_filled)]);
}

uint32_t
refused_flags(enum decision_reason reason)
{
	return PATH_REJECTED | (uint32_t)(reason - DECISION_AS_LOOP) << PATH_SOURCE_SHIFT;
}

bool
reason_is_policy(enum decision_reason reason)
{
	return reason == DECISION_REJECTED_BY_POLICY || reason == DECISION_NO_POLICY;
}

static inline void
verdict_trace(const struct import *m, const struct rib_nlri *n, enum refused_cause cause)
	RUNS_ON(role_rib)
{
	bool policy =
		m->import_result == ASK_POLICY &&
		(cause == REFUSED_NOT || cause == REFUSED_POLICY || cause == REFUSED_PREFIX_LIMIT);

	if (__builtin_expect(m->s->tap != NULL, 0))
		trace_verdict(m->s, m->table, n, cause,
			m->attrs != NULL && cause != REFUSED_NO_POLICY ? m->rib->import : NULL,
			policy ? m->node : 0);
}

#define MEMORY_WAIT_NS 5000000000u

/*
 * The current record got no memory. True: the record waits, because the peer that uses most memory
 * is about to be flushed. False: no memory came in time, or lack of memory is not the cause. The
 * next turn retries, at the latest when the timer of the thread wakes the shard.
 */
static bool
memory_waits(struct shard *s)
{
	uint64_t now = walk_clock();

	if (!arena_is_short())
		return false;
	if (s->short_since_ns == 0)
		s->short_since_ns = now;
	if (now - s->short_since_ns >= MEMORY_WAIT_NS)
		return false;
	s->cursor.blocked = true;
	return true;
}

/* True if nlri_run() gives this prefix again after `err`. */
static bool
comes_again(const struct import *m, int err) RUNS_ON(role_rib)
{
	return err == -EAGAIN || (err == -ENOMEM && memory_waits(m->s));
}

/*
 * Refuses the prefix without storing a path. An earlier path of the peer for the prefix is
 * withdrawn (RFC 4271 9.1.4).
 */
static int
nlri_refuse(struct import *m, const struct rib_nlri *n, enum refused_cause cause) RUNS_ON(role_rib)
{
	int err;

	verdict_trace(m, n, cause);
	m->s->refusing = cause;
	m->s->refusing_node = cause == REFUSED_POLICY ? m->node : 0;
	err = path_withdraw(m->s, m->table, m->rec->peer, n, refused_by_policy(cause), NULL);
	m->s->refusing = REFUSED_NOT;
	if (!comes_again(m, err))
		refused_count(m->s, m->rec->peer, m->table->family, cause, n,
			cause == REFUSED_POLICY ? m->node : 0);
	return err;
}

/* Prefixes that count against the limit of the peer, in all shards. */
static uint64_t
limit_counted(const struct import *m)
{
	struct shard *const *siblings = m->s->config.siblings;
	uint64_t counted = 0;

	if (siblings == NULL)
		return shard_load(&m->rib->counts.counted);
	for (unsigned i = 0; i < SHARDS_MAX && siblings[i] != NULL; i++) {
		const struct shard_peer_slot *slot = shard_slot(siblings[i], m->rec->peer);

		if (slot != NULL)
			counted += shard_load(&slot->rib[m->table->family].counts.counted);
	}
	return counted;
}

/*
 * RFC 4486 4. Prefix number limit + 1 is not stored. With several shards, the record waits until
 * the siblings have done all earlier records; later records wait for this one, or are known to stay
 * below the limit. So the sum is exact. 0; -EDQUOT: do not store; -EAGAIN: wait.
 */
static int
limit_check(struct import *m, const struct rib_nlri *n) RUNS_ON(role_rib)
{
	if (m->rec->limit == 0)
		return 0;
	if (!record_due(m->s, m->rec, true)) {
		m->s->cursor.blocked = true;
		return -EAGAIN;
	}
	/* each destination that is not counted yet adds one at most */
	if (limit_counted(m) + m->s->reuse.runs < m->rec->limit)
		return 0;
	reuse_count(m->s);
	if (limit_counted(m) < m->rec->limit)
		return 0;
	return path_counted(m->s, m->table, m->rec->peer, n) ? 0 : -EDQUOT;
}

/* keep_all_routes: stores the refused path with the reason. */
static int
nlri_keep_refused(struct import *m, const struct rib_nlri *n) RUNS_ON(role_rib)
{
	struct shard_accepted refused = {
		.received = m->received, .flags = refused_flags(m->reason)};
	int err;

	m->s->refusing = refused_of(m->reason);
	m->s->refusing_node = m->s->refusing == REFUSED_POLICY ? m->node : 0;
	err = path_announce(m->s, m->table, m->rec->peer, n, &refused);
	m->s->refusing = REFUSED_NOT;
	if (err == 0)
		refused_count(m->s, m->rec->peer, m->table->family, refused_of(m->reason), NULL, 0);
	return err;
}

/*
 * Destinations that no router forwards to (RFC 1122 3.2.1.3, RFC 6890, RFC 4291 2.5 to 2.7):
 * 0.0.0.0/8 except the default route, 127.0.0.0/8, 169.254.0.0/16, multicast and above; ::/8 except
 * the default route and 64:ff9b::/32 (translation, RFC 6052, RFC 8215), fe80::/10, ff00::/8.
 */
static bool
prefix_unusable(const struct prefix *p)
{
	static const uint8_t translation[] = {0x00, 0x64, 0xff, 0x9b};
	const uint8_t *b = p->b;

	if (b[0] == 0)
		return p->len >= 8 && (p->afi == AFI_IPV4 || p->len < 32 ||
					      memcmp(b, translation, sizeof(translation)) != 0);
	if (p->afi == AFI_IPV4)
		return b[0] == 127 || b[0] >= 224 || (b[0] == 169 && b[1] == 254 && p->len >= 16);
	return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80 && p->len >= 10);
}

static int
nlri_withdraw(struct import *m, const struct rib_nlri *n) RUNS_ON(role_rib)
{
	bool there;
	int err = path_withdraw(m->s, m->table, m->rec->peer, n, false, &there);

	if (!there && shard_load(&m->rib->counts.rejected_total) > 0)
		refused_withdrawn(m->s, m->rec->peer, m->table->family, n);
	return err;
}

/* RFC 7999 3.3: a key of the peer decided, not the policy. */
static bool
by_blackhole(const struct import *m)
{
	return m->import_result == ASK_POLICY && m->node == POLICY_NODE_BLACKHOLE;
}

static int
nlri_apply(struct import *m, const struct rib_nlri *n) RUNS_ON(role_rib)
{
	struct shard_accepted *acc;
	int err;

	if (m->attrs == NULL && m->rec->refused != REFUSED_NOT)
		return nlri_refuse(m, n, (enum refused_cause)m->rec->refused);
	if (m->attrs == NULL)
		return nlri_withdraw(m, n);
	/* RFC 4271 6.3: the prefix is ignored and the session stays */
	if (prefix_unusable(&n->prefix))
		return nlri_refuse(m, n, REFUSED_UNUSABLE_PREFIX);
	err = verdict_of(m, &n->prefix, &acc);
	if (err != 0)
		return err;
	if (acc != NULL && m->received.v == 0 && m->table->leak == LEAK_VPN &&
		!leak_stores(m->s, m->table, shard_slot(m->s, m->rec->peer), acc->id))
		return nlri_withdraw(m, n);
	if (acc == NULL && m->received.v == 0)
		return nlri_refuse(
			m, n, by_blackhole(m) ? REFUSED_BLACKHOLE : refused_of(m->reason));
	err = limit_check(m, n);
	if (err == -EDQUOT) {
		verdict_trace(m, n, REFUSED_PREFIX_LIMIT);
		/* the prefix was never stored, so there is nothing to withdraw */
		refused_count(m->s, m->rec->peer, m->table->family, REFUSED_PREFIX_LIMIT, n, 0);
		return 0;
	}
	if (err != 0)
		return err;
	verdict_trace(m, n, acc != NULL ? REFUSED_NOT : refused_of(m->reason));
	err = acc != NULL ? path_announce(m->s, m->table, m->rec->peer, n, acc)
			  : nlri_keep_refused(m, n);
	if (err == 0 && acc != NULL && by_blackhole(m))
		shard_count(&m->rib->counts.blackholed_total, 1);
	return err;
}

/* ---- layout of records ---- */

static size_t
order_len(const struct rib_record *rec)
{
	return rec->wide ? sizeof(struct rib_order) : 0;
}

static size_t
payload_len(const struct rib_record *rec)
{
	if (rec->kind == RIB_UPDATE)
		return (rec->attrs_len + 7ull) / 8 * 8 + (size_t)rec->nlri_len + order_len(rec);
	return (rec->kind == RIB_SESSION_UP ? sizeof(struct rib_session_up) : 0) + order_len(rec);
}

static bool
attrs_valid(const struct rib_record *rec)
{
	if (rec->kind != RIB_UPDATE || rec->attrs_len == 0)
		return true;
	/* attrs_len may include the padding */
	return attr_packed_valid((const struct attr_packed *)(rec + 1), rec->attrs_len);
}

/* Our session threads write the records; the check is cheap and contains a fault there. */
static bool
record_valid(const struct rib_record *rec, size_t left)
{
	return left >= sizeof(*rec) && rec->record_len % 8 == 0 && rec->record_len <= left &&
	       rec->record_len >= sizeof(*rec) &&
	       rec->record_len - sizeof(*rec) >= payload_len(rec) && rec->family < FAMILY_COUNT &&
	       rec->peer.v < PEER_MAX && rec->refused < REFUSED_CAUSES && attrs_valid(rec);
}

/* ---- prefetching: a destination and its paths are several dependent cache misses ---- */

static struct rib_nlri_reader
record_nlri(const struct rib_record *rec)
{
	const uint8_t *p = (const uint8_t *)(rec + 1) + (rec->attrs_len + 7ull) / 8 * 8;

	return (struct rib_nlri_reader){.p = p,
		.end = p + rec->nlri_len,
		.afi = (uint8_t)family_afi((enum family)rec->family),
		.form = rec->nlri_form};
}

/* Reads the prefixes that follow into `a`. */
static void
ahead_read(struct shard_ahead *a)
{
	a->first += a->count;
	a->count = 0;
	a->guessed = false;
	while (a->count < AHEAD_NLRI && rib_nlri_next(&a->rest, &a->nlri[a->count]))
		a->count++;
}

static void
ahead_begin(struct shard_ahead *a, const struct rib_record *rec)
{
	a->rec = rec;
	a->first = a->count = 0;
	a->rest = record_nlri(rec);
	ahead_read(a);
}

/* The buffer of the record that comes `n` records after the current record. */
static struct shard_ahead *
ahead_of(struct shard_cursor *c, unsigned n)
{
	return &c->ahead[(c->ahead_at + n) % AHEAD_RECORDS];
}

static void
ahead_reset(struct shard_cursor *c)
{
	for (unsigned i = 0; i < AHEAD_RECORDS; i++)
		c->ahead[i].rec = NULL;
}

/* The next record in the batch, if it is an UPDATE; otherwise NULL. */
static const struct rib_record *
record_next(const struct rib_batch *b, const struct rib_record *rec)
{
	size_t at = (size_t)((const uint8_t *)rec - b->data) + rec->record_len;

	rec = (const struct rib_record *)&b->data[at < b->used ? at : 0];
	if (at >= b->used || !record_valid(rec, b->used - at) || rec->kind != RIB_UPDATE)
		return NULL;
	return rec;
}

/*
 * The guessed id of the first prefix of `rec`, if the peer continues in id order after `before`
 * more prefixes. DEST_NONE: the prefixes of the peer are not in id order, so that checking a guess
 * would be a cache miss.
 */
static struct dest_id
record_guess(const struct shard *s, const struct rib_record *rec, unsigned before)
{
	const struct shard_peer_slot *slot = shard_slot(s, rec->peer);
	const struct shard_rib_in *r = slot != NULL ? &slot->rib[rec->family] : NULL;

	return (struct dest_id){r != NULL && r->in_order ? r->next.v + before : DEST_NONE};
}

static void
ahead_hash(struct shard_ahead *a)
{
	bool vpn = (a->rest.form & RIB_NLRI_RD) != 0;

	for (unsigned i = 0; i < a->count && a->nlri[i].hash == 0; i++)
		a->nlri[i].hash = vpn ? vpn_prefix_hash(a->nlri[i].rd, &a->nlri[i].prefix)
				      : prefix_hash(&a->nlri[i].prefix);
}

/* Guesses the destinations of the prefixes in `a`, whose index lines are in the caches. */
static void
ahead_guess(const struct shard_table *t, struct shard_ahead *a)
{
	ahead_hash(a);
	for (unsigned i = 0; i < a->count; i++)
		a->guess[i] = dest_hint(t->dests, a->nlri[i].hash);
	a->guessed = true;
}

static void
ahead_prefetch(const struct shard_table *t, struct shard_ahead *a)
{
	ahead_hash(a);
	for (unsigned i = 0; i < a->count; i++)
		dest_prefetch(t->dests, a->nlri[i].hash);
}

/*
 * Prefetches index lines of the record after next, and destinations for prefixes of the next
 * record. Guessed records need their destinations alone.
 */
static void
records_prefetch(struct shard *s, const struct shard_table *t, const struct rib_record *rec)
{
	struct shard_cursor *c = &s->cursor;
	const struct rib_record *next = record_next(c->batch, rec), *then;
	struct shard_ahead *a = ahead_of(c, 1), *b = ahead_of(c, 2);
	unsigned before = rec->nlri_count - c->nlri;
	struct dest_id guess;
	bool holds;

	if (next == NULL || next->family != t->family)
		return;
	if (a->rec != next)
		ahead_begin(a, next);
	guess = record_guess(s, next, next->peer.v == rec->peer.v ? before : 0);
	holds = a->count > 0 && dest_is(t->dests, guess, a->nlri[0].rd, &a->nlri[0].prefix);
	for (unsigned i = 0; holds && i < a->count; i++)
		a->guess[i] = (struct dest_id){guess.v + i};
	a->guessed = holds;
	/* a peer whose last prefix got the highest id announces new prefixes, without destinations */
	if (!holds && record_guess(s, next, 0).v != dest_limit(t->dests))
		ahead_guess(t, a);
	if (next->attrs_hash != 0)
		attr_prefetch_hash(s->attrs, next->attrs_hash);
	then = record_next(c->batch, next);
	if (then == NULL || then->family != t->family)
		return;
	ahead_begin(b, then);
	if (!holds || then->peer.v != next->peer.v) {
		ahead_prefetch(t, b);
		return;
	}
	/* a wrong guess costs dest_hint() a cache miss */
	for (unsigned i = 0; i < b->count; i += 2)
		dest_prefetch_id(t->dests, (struct dest_id){guess.v + a->count + i});
}

/* few_prefetch(): the most prefixes of a record, and how many records ahead each stage runs. The index lines come first. */
#define FEW_NLRI 2u
#define FEW_DESTS 3u
#define FEW_PATHS 2u
#define FEW_RIVALS 1u
static_assert(FEW_DESTS < AHEAD_RECORDS - 1, "the index lines run ahead of the destinations");

/* What change_one() reads beside the path set of a destination. */
static void
rivals_prefetch(const struct shard *s, const struct shard_table *t, struct dest_id id)
	RUNS_ON(role_rib)
{
	struct attr_id set[PATHS_PACKED_MAX];
	unsigned n = dest_hint_rivals(t->dests, id, set);

	for (unsigned i = 0; i < n; i++)
		next_hop_prefetch(s, set[i]);
}

/* The paths of the guessed destinations in `a`. */
static void
guesses_prefetch(const struct shard_ahead *a, const struct shard_table *t)
{
	for (unsigned i = 0; a->guessed && i < a->count; i++)
		dest_prefetch_paths(t->dests, a->guess[i]);
}

/* True for a record of few prefixes in an order of the peer's own. */
static bool
record_few(const struct shard *s, const struct shard_table *t, const struct rib_record *rec)
{
	return rec != NULL && rec->family == t->family && rec->nlri_count <= FEW_NLRI &&
	       record_guess(s, rec, 0).v == DEST_NONE;
}

/*
 * Records of few prefixes take less time than a cache miss, so a stage of the prefetch runs a
 * record ahead of the next stage: index lines, destinations, paths, and what change_one() reads.
 */
static void
few_prefetch(struct shard *s, const struct shard_table *t, const struct rib_record *rec)
	RUNS_ON(role_rib)
{
	struct shard_cursor *c = &s->cursor;

	for (unsigned n = 1; n < AHEAD_RECORDS; n++) {
		struct shard_ahead *a = ahead_of(c, n);

		rec = record_next(c->batch, rec);
		if (!record_few(s, t, rec))
			return;
		if (a->rec != rec) {
			ahead_begin(a, rec);
			ahead_prefetch(t, a);
			continue;
		}
		if (n == FEW_DESTS && !a->guessed) {
			ahead_guess(t, a);
			if (rec->attrs_hash != 0)
				attr_prefetch_hash(s->attrs, rec->attrs_hash);
		} else if (n == FEW_PATHS) {
			guesses_prefetch(a, t);
		} else if (n == FEW_RIVALS) {
			for (unsigned i = 0; a->guessed && i < a->count; i++)
				rivals_prefetch(s, t, a->guess[i]);
		}
	}
}

/* Prepares the first prefixes of the record for nlri_run(). */
static void
nlri_prepare(struct import *m, struct shard_ahead *a) RUNS_ON(role_rib)
{
	if (a->rec != m->rec) {
		ahead_begin(a, m->rec);
		ahead_prefetch(m->table, a);
	}
	if (record_few(m->s, m->table, m->rec)) {
		few_prefetch(m->s, m->table, m->rec);
		return;
	}
	for (unsigned i = 0; a->guessed && i < a->count; i++)
		rivals_prefetch(m->s, m->table, a->guess[i]);
	records_prefetch(m->s, m->table, m->rec);
}

/* The next prefix of the record. NULL: the octets are no prefix. */
static const struct rib_nlri *
nlri_next(const struct import *m, struct shard_ahead *a)
{
	unsigned i = m->s->cursor.nlri - a->first;

	if (i < a->count)
		return &a->nlri[i];
	ahead_read(a);
	ahead_prefetch(m->table, a);
	ahead_guess(m->table, a);
	return a->count > 0 ? &a->nlri[0] : NULL;
}

static struct dest_id
import_hint(const struct import *m, const struct shard_ahead *a, unsigned i)
{
	if (a->guessed)
		return a->guess[i];
	return m->rib->in_order ? m->rib->next : (struct dest_id){DEST_NONE};
}

/* True if prefix `i` of `a` is known to be the last of its record with these paths. */
static bool
is_alone(const struct import *m, const struct shard_ahead *a, unsigned i)
{
	if (m->s->cursor.nlri + 1 == m->rec->nlri_count)
		return true;
	return a->guessed && i + 1 < a->count &&
	       !dest_alike(m->table->dests, a->guess[i], a->guess[i + 1]);
}

/* From s->cursor.nlri on. True when the record is done. */
static bool
nlri_run(struct import *m, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct shard_cursor *c = &m->s->cursor;
	struct shard_ahead *a = ahead_of(c, 0);
	unsigned count = m->rec->nlri_count;

	nlri_prepare(m, a);
	m->s->effort = 0;
	while (c->nlri < count) {
		const struct rib_nlri *n = nlri_next(m, a);
		int err;

		if (n == NULL) {
			shard_count(&m->s->failures, count - c->nlri);
			return true;
		}
		m->s->alone = is_alone(m, a, (unsigned)(n - a->nlri));
		m->s->hint = import_hint(m, a, (unsigned)(n - a->nlri));
		err = nlri_apply(m, n);
		if (comes_again(m, err))
			break;
		if (err != 0)
			shard_count(&m->s->failures, 1);
		else if (m->attrs != NULL)
			m->s->short_since_ns = 0;
		/*
		 * The destinations of the next record are cached by now. The second half of this
		 * record takes long enough to fetch the paths of the next record.
		 */
		if (c->nlri++ == count / 2)
			guesses_prefetch(ahead_of(c, 1), m->table);
		if (++m->s->effort < EFFORT_MAX)
			continue;
		m->s->effort = 0;
		if (walk_clock() >= deadline_ns)
			break;
	}
	return c->nlri == count;
}

/* ---- the order between shards: docs/decisions/0006 ---- */

/*
 * True if the sibling has done `count` records of the same input. Otherwise, with `await`, the
 * sibling wakes this shard after more records.
 */
static bool
sibling_did(struct shard *s, unsigned sibling, uint64_t count, bool await)
{
	unsigned input = s->cursor.input_index;
	struct shard_input *in = s->config.siblings[sibling]->input[input];
	uint64_t *seen = &s->input[input]->seen[sibling];

	if (*seen >= count)
		return true;
	/*
	 * acquire: pairs with the stores in record_end and progress_publish: journal entries of
	 * those records come before entries of this record
	 */
	*seen = atomic_load_explicit(&in->records, memory_order_acquire);
	if (*seen >= count || !await)
		return *seen >= count;
	/*
	 * seq_cst, both: pairs with progress_publish; either this shard sees `records`, or the
	 * sibling sees `awaited`
	 */
	atomic_fetch_or_explicit(&in->awaited, 1u << s->config.index, memory_order_seq_cst);
	*seen = atomic_load_explicit(&in->records, memory_order_seq_cst);
	return *seen >= count;
}

static bool
record_due(struct shard *s, const struct rib_record *rec, bool await)
{
	const struct rib_order *o =
		(const struct rib_order *)(const void *)((const uint8_t *)rec + rec->record_len -
							 order_len(rec));

	if (s->config.siblings == NULL)
		return true;
	if (rec->after != 0 && !sibling_did(s, 0, rec->after, await))
		return false;
	for (unsigned i = 0; rec->wide && i < SHARDS_MAX; i++)
		if (o->after[i] != 0 && !sibling_did(s, i, o->after[i], await))
			return false;
	return true;
}

/* As record_due(), for the current record. */
static bool
import_due(struct shard *s)
{
	struct shard_cursor *c = &s->cursor;

	c->behind = !record_due(
		s, (const struct rib_record *)(const void *)&c->batch->data[c->offset], true);
	c->blocked |= c->behind;
	return !c->behind;
}

bool
import_may_withdraw(struct shard *s)
{
	return !s->cursor.behind || import_due(s);
}

static bool
update_run(struct shard *s, const struct rib_record *rec, struct shard_peer_slot *slot,
	struct shard_table *t, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	const uint8_t *body = (const uint8_t *)(rec + 1);
	struct import m = {
		.s = s,
		.rec = rec,
		.attrs = rec->attrs_len > 0 ? (const struct attr_packed *)body : NULL,
		.table = t,
		.rib = &slot->rib[t->family],
	};
	bool done;
	int err;

	attr_table_owner(s->attrs, rec->peer.v);
	err = m.attrs != NULL ? evaluate(&m, slot) : 0;
	if (err == -ENOMEM && memory_waits(s))
		return false;
	if (err != 0) {
		shard_count(&s->failures, rec->nlri_count - s->cursor.nlri);
		return true;
	}
	s->cursor.behind = !record_due(s, rec, false);
	s->bulk = rec->bulk;
	done = nlri_run(&m, deadline_ns);
	s->alone = false;
	s->bulk = 0;
	s->cursor.behind = false;
	reuse_end(s);
	verdicts_end(s);
	if (m.received.v != 0)
		attr_unref(s->attrs, m.received, 1);
	return done;
}

/* ---- sessions ---- */

static void
family_flush(struct shard *s, struct shard_peer_slot *slot, struct shard_table *t) RUNS_ON(role_rib)
{
	struct shard_rib_in *r = &slot->rib[t->family];

	sweep_start(s, t, r, adj_rib_in_lost(&r->counts), true);
}

/* RFC 4724 4.2, RFC 9494 4.2. A second report of the same session end changes nothing. */
static void
family_retain(struct shard *s, struct shard_peer_slot *slot, struct shard_table *t, bool long_lived)
	RUNS_ON(role_rib)
{
	struct shard_rib_in *r = &slot->rib[t->family];
	uint16_t below;

	if (!slot->up)
		return;
	r->long_lived = false;
	if (adj_rib_in_retain(&r->counts, long_lived, &below))
		sweep_start(s, t, r, below, false);
	if (long_lived)
		age_start(s, t, r);
}

static void
session_down(struct shard *s, struct shard_peer_slot *slot, struct vrf_id vrf,
	struct rib_session_down down) RUNS_ON(role_rib)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct shard_table *t = shard_table_of(s, vrf, (enum family)f);

		if (t == NULL)
			continue;
		if (down.retain >> f & 1)
			family_retain(s, slot, t, down.long_lived >> f & 1);
		else
			family_flush(s, slot, t);
	}
	slot->up = slot->evicted = false;
}

void
shard_peer_evict(struct shard *s, struct peer_id id)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct vrf_id vrf;

	if (slot == NULL || id.v == PEER_SELF.v)
		return;
	slot->evicted = true;
	vrf = atomic_load_explicit(&slot->key, memory_order_relaxed)->vrf;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct shard_table *t = shard_table_of(s, vrf, (enum family)f);

		if (t != NULL)
			family_flush(s, slot, t);
	}
}

void
shard_peer_spare(struct shard *s, struct peer_id id)
{
	struct shard_peer_slot *slot = shard_slot(s, id);

	if (slot != NULL)
		slot->evicted = false;
}

/*
 * After a change of the peer's identity an equal path is ranked and advertised again, because
 * reflection may differ (RFC 4456 8).
 */
static void
family_up(struct shard *s, struct shard_peer_slot *slot, struct shard_table *t,
	const struct rib_session_up *up, bool same) RUNS_ON(role_rib)
{
	struct shard_rib_in *r = &slot->rib[t->family];

	if (!(up->families >> t->family & 1)) {
		/* RFC 4724 4.2: the new session does not have the family */
		if (r->counts.retained)
			family_flush(s, slot, t);
		return;
	}
	adj_rib_in_up(&r->counts, up->end_of_rib >> t->family & 1);
	refused_reset(r);
	refused_settle(s, atomic_load_explicit(&slot->key, memory_order_relaxed)->id, t->family);
	if (same)
		return;
	if (r->sweeping || r->counts.retained)
		r->rerank = true;
	if (r->counts.retained)
		rank_all_start(s, t->vrf);
	/* import evaluates routes of internal and external peers differently */
	replay_start(s, t, r);
}

/* Paths of an earlier session may have a different neighbour AS. */
static void
near_as_begin(struct shard *s, const struct shard_peer_slot *slot, const struct rib_session_up *up)
{
	struct peer_id peer = atomic_load_explicit(&slot->key, memory_order_relaxed)->id;
	uint32_t as = up->external ? up->asn : NEAR_AS_ANY;
	uint64_t paths = 0;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		paths += shard_load(&slot->rib[f].counts.received);
	near_as_set(s, peer, paths == 0 || s->near_as[peer.v] == as ? as : NEAR_AS_ANY);
}

static void
session_up(struct shard *s, struct shard_peer_slot *slot, struct vrf_id vrf,
	const struct rib_session_up *up) RUNS_ON(role_rib)
{
	const struct rib_session_down none = {0};
	bool same = up->router_id == atomic_load_explicit(&slot->router_id, memory_order_relaxed) &&
		    up->external == atomic_load_explicit(&slot->external, memory_order_relaxed);

	if (slot->up)
		session_down(s, slot, vrf, none); /* the end of the old session was not reported */
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct shard_table *t = shard_table_of(s, vrf, (enum family)f);

		if (t != NULL)
			family_up(s, slot, t, up, same);
	}
	near_as_begin(s, slot, up);
	atomic_store_explicit(&slot->router_id, up->router_id, memory_order_relaxed);
	atomic_store_explicit(&slot->asn, up->asn, memory_order_relaxed);
	atomic_store_explicit(&slot->external, up->external, memory_order_relaxed);
	slot->up = true;
	slot->refreshes = up->refreshes;
}

/* RFC 7313 4, RFC 4724 4.2 */
static void
refresh_record(struct shard *s, const struct rib_record *rec, struct shard_rib_in *r,
	struct shard_table *t) RUNS_ON(role_rib)
{
	bool sweep = false;

	if (rec->kind == RIB_LONG_LIVED) {
		age_start(s, t, r);
	} else if (rec->kind == RIB_BEGIN_REFRESH) {
		adj_rib_in_begin_refresh(&r->counts);
	} else if (rec->kind == RIB_END_REFRESH) {
		sweep = adj_rib_in_end_refresh(&r->counts);
	} else if (rec->kind == RIB_END_OF_RIB) {
		sweep = adj_rib_in_end_of_rib(&r->counts);
	} else if (rec->kind == RIB_STALE_TIMEOUT) {
		sweep = adj_rib_in_timeout(&r->counts);
	}
	if (sweep)
		sweep_start(s, t, r, shard_epoch(r), false);
}

/* ---- records ---- */

/* No family without a payload. */
static struct rib_session_down
down_of(const struct rib_record *rec)
{
	const struct rib_session_down *down = (const struct rib_session_down *)(rec + 1);

	return rec->record_len >= sizeof(*rec) + sizeof(*down) + order_len(rec)
		       ? *down
		       : (struct rib_session_down){0};
}

/* True if the prefixes of an UPDATE have distinguishers in a VPN table, and only there. */
static bool
form_fits(const struct rib_record *rec, const struct shard_table *t)
{
	return ((rec->nlri_form & RIB_NLRI_RD) != 0) == (family_safi(t->family) == SAFI_VPN);
}

/* True when the record is done. */
static bool
record_run(struct shard *s, const struct rib_record *rec, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct shard_peer_slot *slot = shard_slot(s, rec->peer);
	struct vrf_id vrf;
	struct shard_table *t;
	bool done;

	if (slot == NULL || rec->peer.v == PEER_SELF.v) {
		shard_count(&s->failures, 1);
		return true;
	}
	if (rec->kind != RIB_UPDATE && !import_due(s))
		return false;
	vrf = atomic_load_explicit(&slot->key, memory_order_relaxed)->vrf;
	shard_sample_add(s, rec->received_ns);
	if (rec->kind == RIB_SESSION_UP) {
		session_up(s, slot, vrf, (const struct rib_session_up *)(rec + 1));
		return true;
	}
	if (rec->kind == RIB_SESSION_DOWN) {
		session_down(s, slot, vrf, down_of(rec));
		return true;
	}
	t = shard_table_of(s, vrf, (enum family)rec->family);
	if (t == NULL ||
		(!slot->up && rec->kind != RIB_STALE_TIMEOUT && rec->kind != RIB_LONG_LIVED) ||
		(rec->kind == RIB_UPDATE && !form_fits(rec, t))) {
		shard_count(&s->failures, 1); /* the epoch would never be flushed */
		return true;
	}
	if (rec->kind == RIB_UPDATE && slot->evicted)
		return true;
	if (rec->kind == RIB_UPDATE) {
		s->cause = rec;
		done = update_run(s, rec, slot, t, deadline_ns);
		s->cause = NULL;
		return done;
	}
	refresh_record(s, rec, &slot->rib[t->family], t);
	return true;
}

/* ---- batches ---- */

static bool
batch_next(struct shard *s)
{
	struct shard_cursor *c = &s->cursor;

	for (unsigned i = 0; c->batch == NULL && i < s->input_count; i++) {
		c->input_index = c->turn++ % s->input_count;
		c->input = s->input[c->input_index];
		c->batch = ring_pop(c->input->full);
		c->offset = c->nlri = 0;
		ahead_reset(c);
		if (c->batch != NULL)
			c->record = c->batch->before;
	}
	return c->batch != NULL;
}

static void
record_end(struct shard *s, const struct rib_record *rec)
{
	struct shard_cursor *c = &s->cursor;

	c->offset += rec->record_len;
	c->nlri = 0;
	c->ahead_at = (c->ahead_at + 1) % AHEAD_RECORDS;
	c->record++;
	c->published = false;
	/*
	 * release: pairs with the acquires in sibling_did, shard_records_done and
	 * shard_input_did: journal entries and counts of the record are complete
	 */
	atomic_store_explicit(&c->input->records, c->record, memory_order_release);
}

/* At the end of a batch and of a slice: soon enough for waiting siblings. */
static void
progress_publish(struct shard *s) RUNS_ON(role_rib)
{
	struct shard_cursor *c = &s->cursor;
	uint32_t awaited;

	if (c->published)
		return;
	c->published = true;
	/* seq_cst, both: pairs with sibling_did */
	atomic_store_explicit(&c->input->records, c->record, memory_order_seq_cst);
	if (atomic_load_explicit(&c->input->awaited, memory_order_seq_cst) == 0)
		return;
	awaited = atomic_exchange_explicit(&c->input->awaited, 0, memory_order_seq_cst);
	for (; awaited != 0; awaited &= awaited - 1)
		s->config.wake_sibling(s->config.wake_ctx, (unsigned)__builtin_ctz(awaited));
}

static void
batch_end(struct shard *s) RUNS_ON(role_rib)
{
	struct shard_cursor *c = &s->cursor;
	uint64_t end = c->batch->before + c->batch->records;

	/* an invalid record counts as done */
	if (c->record < end) {
		c->record = end;
		c->published = false;
	}
	progress_publish(s);
	/* never full: the ring has room for all batches */
	(void)ring_push(c->input->empty, c->batch);
	c->batch = NULL;
}

/* True for a live record in front of bulk: the consumers read the change while the shard imports the bulk. */
static bool
is_last_live(const struct shard_cursor *c, const struct rib_record *rec)
{
	const struct rib_record *next;

	if (rec->kind != RIB_UPDATE || rec->bulk)
		return false;
	next = record_next(c->batch, rec);
	return next != NULL && next->bulk;
}

/* ---- the cost of prefixes ---- */

/* The mean moves by a quarter, after so many prefixes or so much time. */
#define COST_PREFIXES 64u
#define COST_NS 1000000u
#define COST_STEP 8
#define COST_LEAST_NS 128
/* A run has 32 prefixes at least: batches are few, and an interruption of the thread is no cost. */
#define COST_MAX_NS 125000

static void
cost_fold(struct shard_cost *c, enum family f)
{
	int64_t old = atomic_load_explicit(&c->mean_ns[f], memory_order_relaxed), now;

	if (c->prefixes[f] == 0 || (c->prefixes[f] < COST_PREFIXES && c->ns[f] < COST_NS))
		return;
	now = (int64_t)(c->ns[f] / c->prefixes[f]);
	/* an interruption of the thread is no cost of a prefix */
	if (now > COST_STEP * (old + COST_LEAST_NS))
		now = COST_STEP * (old + COST_LEAST_NS);
	if (now > COST_MAX_NS)
		now = COST_MAX_NS;
	atomic_store_explicit(
		&c->mean_ns[f], (uint32_t)(old + (now - old) / 4), memory_order_relaxed);
	c->prefixes[f] = 0;
	c->ns[f] = 0;
}

void
shard_cost_of(struct shard *s, enum family family)
{
	struct shard_cost *c = &s->cost;
	uint64_t now = walk_clock();

	/* leaks go on after their prefixes; other turns without a prefix are idle, or wait */
	if (c->prefixes[c->family] == 0 && !(c->family == c->leaks && c->owes))
		c->ns[c->family] = 0;
	else
		c->ns[c->family] += now - c->since_ns;
	cost_fold(c, c->family);
	c->since_ns = now;
	c->family = family;
	if (family_safi(family) == SAFI_VPN)
		c->leaks = family;
}

static void
cost_count(struct shard *s, unsigned prefixes)
{
	struct shard_cost *c = &s->cost;

	c->prefixes[c->family] += prefixes;
	c->owes |= prefixes > 0 && c->family == c->leaks;
}

uint32_t
shard_cost_ns(const struct shard *s, enum family family)
{
	return atomic_load_explicit(&s->cost.mean_ns[family], memory_order_relaxed);
}

static bool
import_some(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	struct shard_cursor *c = &s->cursor;
	unsigned since_clock = 0, before;
	bool done;

	c->blocked = false;
	while (batch_next(s)) {
		const struct rib_record *rec =
			(const struct rib_record *)&c->batch->data[c->offset];

		if (c->offset >= c->batch->used) {
			batch_end(s);
			continue;
		}
		if (!record_valid(rec, c->batch->used - c->offset)) {
			shard_count(&s->failures, 1);
			batch_end(s);
			continue;
		}
		if (rec->kind == RIB_UPDATE && rec->family != s->cost.family)
			shard_cost_of(s, (enum family)rec->family);
		before = c->nlri;
		done = record_run(s, rec, deadline_ns);
		if (rec->kind == RIB_UPDATE)
			cost_count(s, (done ? rec->nlri_count : c->nlri) - before);
		if (!done)
			return !c->blocked;
		since_clock += 1 + rec->nlri_count;
		if (is_last_live(c, rec))
			consumers_wake(s);
		record_end(s, rec);
		if (s->cost.family != s->cost.leaks && (leak_pending(s) || leak_waits(s)))
			shard_cost_of(s, s->cost.leaks);
		if (leak_run(s, deadline_ns))
			return true;
		if (since_clock >= CLOCK_EVERY) {
			since_clock = 0;
			if (walk_clock() >= deadline_ns)
				return c->offset < c->batch->used || batch_next(s);
		}
	}
	return false;
}

bool
import_run(struct shard *s, uint64_t deadline_ns)
{
	bool more = import_some(s, deadline_ns);

	progress_publish(s);
	return more;
}
