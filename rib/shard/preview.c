/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/shard/preview.h"
#include "rib/shard/shard_impl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define ANSWERS_MIN 64u /* slots; a power of two, at most half full */

enum becomes { SAME, ADDED, REMOVED, CHANGED };

/* A peer whose paths are evaluated. */
/* An unpacked attribute set. */
struct room {
	struct attr_set *set;
	size_t size;
};

struct item {
	struct peer_id peer;
	struct shard_peer known;
	const struct policy *policy;
	unsigned allow_as_in;
	struct policy_eval *eval;
	/* shard of `set` in the last policy_eval_begin(): ids and serials are per shard */
	const struct shard *shard;
	struct attr_id set;
	uint32_t serial;
	bool kept; /* the set is as received */
	enum decision_reason loop; /* of the set */
	struct room input; /* the set, read by `eval` */
	struct preview_counts counts;
};

/* Result for a path. */
struct outcome {
	enum becomes becomes;
	struct item *item;
	size_t attrs; /* ADDED, CHANGED: offset of the attributes in p->copy */
};

struct answer {
	bool used;
	struct preview_question q;
	struct preview_answer a;
};

/* A prefix of the host. `seen`: counted for the forwarding tables. */
struct own {
	struct preview_own o;
	bool seen;
};

struct preview {
	struct preview_config c;
	struct shards shards;
	const struct shard *shard; /* of the destination */
	struct item **items;
	unsigned item_count;
	uint16_t of_peer[PEER_MAX]; /* index + 1 in items; 0: not previewed */
	struct preview_counts fib;
	struct own *owns;
	unsigned own_count, own_size;
	uint32_t *own_index; /* open addressing by prefix: index + 1 in owns; 0: free */
	uint32_t own_mask;

	/* of the destination: NULL: no prefix of the host */
	struct own *own;
	struct rib_path self; /* the path of this router then */

	/* scratch of one destination, for `size` paths */
	unsigned size;
	struct outcome *outcome;
	struct decision_input *in;
	const struct rib_path **path; /* of in[] */
	unsigned *order;
	struct ip_addr *now; /* next hops */
	const struct ip_addr **then;
	uint8_t *copy;
	size_t copy_len, copy_size;
	struct path_set *all; /* of a destination with many paths: room for `all_size` */
	unsigned all_size;

	struct room accepted, best; /* preview_best(): the path stays as it is */

	struct preview_question question;
	struct answer *answer;
	uint32_t answer_size, answer_count;

	struct dest_view view; /* scratch: with all paths; ends with room for paths */
};

/* ---- life ---- */

int
preview_create(const struct preview_config *c, struct preview **out)
{
	struct preview *p = arena_calloc(c->arena, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->c = *c;
	(void)vrps_ref(p->c.vrps);
	if (c->shards != NULL)
		p->shards = *c->shards;
	else
		shards_init(&p->shards,
			(struct shard *const[]){(struct shard *)(uintptr_t)c->shard}, 1);
	p->shard = p->shards.at[0];
	*out = p;
	return 0;
}

static void
item_free(struct preview *p, struct item *i)
{
	if (i->eval != NULL)
		policy_eval_destroy(i->eval);
	arena_free(p->c.arena, i->input.set);
	arena_free(p->c.arena, i);
}

void
preview_destroy(struct preview *p)
{
	struct arena *a;

	if (p == NULL)
		return;
	a = p->c.arena;
	for (unsigned i = 0; i < p->item_count; i++)
		item_free(p, p->items[i]);
	arena_free(a, p->items);
	arena_free(a, p->outcome);
	arena_free(a, p->in);
	arena_free(a, p->path);
	arena_free(a, p->order);
	arena_free(a, p->now);
	arena_free(a, p->then);
	arena_free(a, p->copy);
	arena_free(a, p->all);
	arena_free(a, p->accepted.set);
	arena_free(a, p->best.set);
	arena_free(a, p->answer);
	for (unsigned i = 0; i < p->own_count; i++)
		arena_free(a, (void *)(uintptr_t)p->owns[i].o.attrs);
	arena_free(a, p->owns);
	arena_free(a, p->own_index);
	vrps_unref(p->c.vrps);
	arena_free(a, p);
}

static bool
asks_policy(const struct item *i)
{
	return i->policy != NULL && i->policy != policy_accept_all() &&
	       i->policy != policy_deny_all();
}

int
preview_peer(
	struct preview *p, struct peer_id peer, const struct policy *policy, unsigned allow_as_in)
{
	struct item **items =
		arena_realloc(p->c.arena, p->items, (p->item_count + 1) * sizeof(*items));
	struct item *i;

	if (items == NULL)
		return -ENOMEM;
	p->items = items;
	i = arena_calloc(p->c.arena, sizeof(*i));
	if (i == NULL)
		return -ENOMEM;
	i->peer = peer;
	i->policy = policy;
	i->allow_as_in = allow_as_in;
	if (!shard_peer_peek(p->shard, peer, &i->known)) {
		item_free(p, i);
		return -ENOENT;
	}
	if (asks_policy(i) && policy_eval_create(p->c.arena, &i->eval) != 0) {
		item_free(p, i);
		return -ENOMEM;
	}
	p->items[p->item_count++] = i;
	p->of_peer[peer.v] = (uint16_t)p->item_count;
	return 0;
}

static struct item *
item_of(const struct preview *p, struct peer_id peer)
{
	return p->of_peer[peer.v] != 0 ? p->items[p->of_peer[peer.v] - 1] : NULL;
}

void
preview_peer_group(struct preview *p, struct peer_id peer, uint64_t group_key)
{
	struct item *i = item_of(p, peer);

	if (i != NULL)
		i->known.group_key = group_key;
}

void
preview_peer_counts(const struct preview *p, struct peer_id peer, struct preview_counts *out)
{
	const struct item *i = item_of(p, peer);

	*out = i != NULL ? i->counts : (struct preview_counts){0};
}

void
preview_fib_counts(const struct preview *p, struct preview_counts *out)
{
	*out = p->fib;
}

static int
reserve(struct preview *p, unsigned n)
{
	struct arena *a = p->c.arena;
	unsigned size = n < 16 ? 16 : 2 * n;

	if (n <= p->size)
		return 0;
	arena_free(a, p->outcome);
	arena_free(a, p->in);
	arena_free(a, p->path);
	arena_free(a, p->order);
	arena_free(a, p->now);
	arena_free(a, p->then);
	p->outcome = arena_alloc(a, size * sizeof(*p->outcome));
	p->in = arena_alloc(a, size * sizeof(*p->in));
	p->path = arena_alloc(a, size * sizeof(*p->path));
	p->order = arena_alloc(a, size * sizeof(*p->order));
	p->now = arena_alloc(a, size * sizeof(*p->now));
	p->then = arena_alloc(a, size * sizeof(*p->then));
	p->size = size;
	if (p->outcome != NULL && p->in != NULL && p->path != NULL && p->order != NULL &&
		p->now != NULL && p->then != NULL)
		return 0;
	p->size = 0;
	return -ENOMEM;
}

/* ---- prefixes of the host ---- */

static uint32_t *
own_slot(const struct preview *p, const struct prefix *prefix)
{
	for (uint64_t h = prefix_hash(prefix);; h++) {
		uint32_t *at = &p->own_index[h & p->own_mask];

		if (*at == 0 || prefix_equal(&p->owns[*at - 1].o.prefix, prefix))
			return at;
	}
}

static struct own *
own_find(const struct preview *p, const struct prefix *prefix)
{
	uint32_t at = p->own_count > 0 ? *own_slot(p, prefix) : 0;

	return at != 0 ? &p->owns[at - 1] : NULL;
}

/* Room for one more: the array has 2^n places, the index twice as many. */
static int
owns_grow(struct preview *p)
{
	struct arena *a = p->c.arena;
	unsigned size = p->own_size > 0 ? 2 * p->own_size : 16;
	uint32_t *index = arena_calloc(a, 2 * (size_t)size * sizeof(*index));
	struct own *owns = arena_realloc(a, p->owns, size * sizeof(*owns));

	if (owns != NULL)
		p->owns = owns;
	if (index == NULL || owns == NULL) {
		arena_free(a, index);
		return -ENOMEM;
	}
	arena_free(a, p->own_index);
	p->own_size = size;
	p->own_index = index;
	p->own_mask = 2 * size - 1;
	for (unsigned i = 0; i < p->own_count; i++)
		*own_slot(p, &p->owns[i].o.prefix) = i + 1;
	return 0;
}

int
preview_own(struct preview *p, const struct preview_own *own)
{
	size_t len = own->attrs != NULL ? attr_set_size(own->attrs) : 0;
	struct attr_set *attrs = len > 0 ? arena_alloc(p->c.arena, len) : NULL;

	if ((len > 0 && attrs == NULL) || (p->own_count == p->own_size && owns_grow(p) != 0)) {
		arena_free(p->c.arena, attrs);
		return -ENOMEM;
	}
	if (attrs != NULL)
		memcpy(attrs, own->attrs, len);
	p->owns[p->own_count] = (struct own){.o = *own};
	p->owns[p->own_count].o.attrs = attrs;
	*own_slot(p, &own->prefix) = p->own_count + 1;
	p->own_count++;
	return 0;
}

unsigned
preview_own_count(const struct preview *p)
{
	return p->own_count;
}

const struct preview_own *
preview_own_at(const struct preview *p, unsigned i)
{
	return &p->owns[i].o;
}

bool
preview_own_only(const struct preview *p)
{
	return p->item_count == 0 && !p->c.all;
}

/* The new path of this router is p->self. */
static bool
own_announces(const struct preview *p)
{
	return p->own != NULL && p->own->o.changes && p->own->o.attrs != NULL;
}

/* ---- policy ---- */

/*
 * Accepted attributes passed the loop check on arrival with allow_as_in; extra occurrences of the
 * own AS may come from policy.
 */
static enum decision_reason
loop_of(const struct preview *p, const struct item *i, bool kept, const struct attr_packed *a)
{
	bool checked = !kept && i->allow_as_in >= i->known.allow_as_in[p->c.family];

	return shard_loops(
		p->shard, i->peer, checked ? UINT_MAX : i->allow_as_in, p->c.cluster_id, a);
}

/* NULL: no memory. */
static const struct attr_set *
unpack(struct preview *p, struct room *r, const struct attr_packed *a)
{
	size_t size = attr_packed_set_size(a);

	if (size > r->size) {
		struct attr_set *grown = arena_realloc(p->c.arena, r->set, size);

		if (grown == NULL)
			return NULL;
		r->set = grown;
		r->size = size;
	}
	return attr_unpack(a, r->set);
}

/*
 * The shard's order: loops, then RFC 8212, then policy (shard_import.c). *v: the verdict on `a`. 0,
 * -ENOMEM.
 */
static int
evaluate(struct preview *p, struct item *i, struct attr_id id, bool kept,
	const struct attr_packed *a, const struct prefix *prefix, struct policy_verdict *v)
{
	uint32_t serial = attr_serial(shard_attrs(p->shard), id);
	struct policy_context context = {.peer = i->known.addr,
		.peer_asn = i->known.asn,
		.peer_group = i->known.group_key,
		.family = p->c.family,
		.source = i->known.external ? SOURCE_EXTERNAL : SOURCE_INTERNAL,
		.vrps = p->c.vrps,
		.own_asn = p->c.own_asn};
	bool fresh =
		i->shard != p->shard || i->set.v != id.v || i->serial != serial || i->kept != kept;
	int err;

	if (fresh) {
		i->set.v = 0;
		if (unpack(p, &i->input, a) == NULL)
			return -ENOMEM;
		i->loop = loop_of(p, i, kept, a);
		if (asks_policy(i)) {
			err = policy_eval_begin(i->eval, i->policy, i->input.set, &context);
			if (err != 0 && err != -E2BIG)
				return err;
		}
		i->shard = p->shard;
		i->set = id;
		i->serial = serial;
		i->kept = kept;
	}
	*v = (struct policy_verdict){.permit = false, .attrs = i->input.set};
	if (i->loop != DECISION_EQUAL || i->policy == policy_deny_all() ||
		(i->policy == NULL && i->known.external))
		return 0;
	v->permit = true;
	if (!asks_policy(i))
		return 0;
	err = policy_eval_prefix(i->eval, prefix, v);
	if (err == -E2BIG)
		v->permit = false;
	return err == -E2BIG ? 0 : err;
}

static bool
sets_equal(const struct attr_set *a, const struct attr_set *b)
{
	return a == b ||
	       (attr_set_size(a) == attr_set_size(b) && memcmp(a, b, attr_set_size(a)) == 0);
}

/* Copies attributes for the decision: the next verdict overwrites the evaluator's memory. */
static int
attrs_copy(struct preview *p, const struct attr_set *a, struct outcome *o)
{
	size_t len = (attr_set_size(a) + 15) / 16 * 16;

	if (p->copy_len + len > p->copy_size) {
		uint8_t *copy = arena_realloc(p->c.arena, p->copy, 2 * (p->copy_len + len));

		if (copy == NULL)
			return -ENOMEM;
		p->copy = copy;
		p->copy_size = 2 * (p->copy_len + len);
	}
	memcpy(p->copy + p->copy_len, a, attr_set_size(a));
	o->attrs = p->copy_len;
	p->copy_len += len;
	return 0;
}

static const struct attr_set *
attrs_copied(const struct preview *p, const struct outcome *o)
{
	return (const struct attr_set *)(const void *)(p->copy + o->attrs);
}

/* 0, -ENOMEM. */
static int
path_evaluate(struct preview *p, const struct rib_path *path, const struct prefix *prefix,
	struct outcome *o)
{
	const struct attr_table *table = shard_attrs(p->shard);
	const struct attr_packed *kept, *accepted, *input;
	const struct attr_set *before;
	bool rejected = path->label_flags & PATH_REJECTED;
	struct policy_verdict v;
	struct attr_id id;
	int err;

	*o = (struct outcome){.becomes = SAME, .item = item_of(p, path->peer)};
	if (o->item == NULL)
		return 0;
	kept = shard_path_received(p->shard, path);
	accepted = rejected ? NULL : attr_get(table, path->accepted);
	id = path->received.v != 0 ? path->received : path->accepted;
	input = kept != NULL ? kept : accepted;
	if (input == NULL)
		return 0;
	err = evaluate(p, o->item, id, kept != NULL, input, prefix, &v);
	if (err != 0)
		return err;
	if (!v.permit) {
		o->becomes = rejected ? SAME : REMOVED;
		return 0;
	}
	if (accepted != NULL) {
		before = unpack(p, &p->accepted, accepted);
		if (before == NULL)
			return -ENOMEM;
		if (sets_equal(v.attrs, before))
			return 0;
	}
	o->becomes = rejected ? ADDED : CHANGED;
	return attrs_copy(p, v.attrs, o);
}

/* ---- next hops ---- */

/* The slot of the question, or the free slot for the question. */
static struct answer *
answer_place(const struct preview *p, const struct preview_question *q)
{
	for (uint64_t h = addr_hash(&q->next_hop, q->peer.v);; h++) {
		struct answer *at = &p->answer[h & (p->answer_size - 1)];

		if (!at->used ||
			(at->q.peer.v == q->peer.v && addr_equal(&at->q.next_hop, &q->next_hop)))
			return at;
	}
}

/* False: unknown; the question must be asked. */
static bool
answer_find(struct preview *p, struct peer_id peer, const struct ip_addr *next_hop,
	struct preview_answer *a)
{
	struct preview_question q = {.peer = peer, .next_hop = *next_hop};
	const struct answer *at = p->answer_size > 0 ? answer_place(p, &q) : NULL;

	if (at != NULL && at->used) {
		*a = at->a;
		return true;
	}
	p->question = q;
	return false;
}

const struct preview_question *
preview_question(const struct preview *p)
{
	return &p->question;
}

static int
answers_grow(struct preview *p)
{
	uint32_t old_size = p->answer_size, size = old_size > 0 ? 2 * old_size : ANSWERS_MIN;
	struct answer *old = p->answer, *grown = arena_calloc(p->c.arena, size * sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	p->answer = grown;
	p->answer_size = size;
	for (uint32_t i = 0; i < old_size; i++) {
		if (old[i].used)
			*answer_place(p, &old[i].q) = old[i];
	}
	arena_free(p->c.arena, old);
	return 0;
}

int
preview_answer(struct preview *p, const struct preview_answer *a)
{
	int err = p->answer_count >= p->answer_size / 2 ? answers_grow(p) : 0;

	if (err != 0)
		return err;
	*answer_place(p, &p->question) = (struct answer){.used = true, .q = p->question, .a = *a};
	p->answer_count++;
	return 0;
}

struct preview_answer
preview_next_hop(const struct shard *s, const struct preview_question *q)
{
	struct shard_peer peer;
	const struct shard_next_hop *n;

	if (!shard_peer_peek(s, q->peer, &peer))
		return (struct preview_answer){0};
	if (addr_is_discard(&q->next_hop))
		return (struct preview_answer){.known = true, .eligible = true};
	n = next_hop_find(s, peer.vrf, &q->next_hop);
	if (n == NULL)
		return (struct preview_answer){.eligible = true};
	return (struct preview_answer){.known = true,
		.eligible = next_hop_eligible(s, shard_slot(s, q->peer), q->peer, n, NULL),
		.metric = atomic_load_explicit(&n->metric, memory_order_relaxed)};
}

/* ---- routes ---- */

static unsigned
hops_now(struct preview *p, const struct path_set *s)
{
	unsigned n = 0;

	if (s->eligible == 0 || s->path[0].peer.v == PEER_SELF.v)
		return 0; /* the route is not from BGP */
	for (unsigned i = 0; i < s->multipath && i < s->eligible; i++) {
		const struct attr_packed *a = attr_get(shard_attrs(p->shard), s->path[i].accepted);

		if (a != NULL)
			p->now[n++] = attr_packed_next_hop(a);
	}
	return n;
}

/* 0, -EAGAIN. */
static int
input_of(struct preview *p, const struct rib_path *path, const struct outcome *o,
	struct decision_input *in)
{
	const struct ip_addr *hop, *old;
	struct preview_answer a;

	shard_decision_input(p->shard, path, in);
	if (o->becomes == SAME)
		return 0;
	old = in->attrs != NULL && o->becomes == CHANGED ? attr_next_hop(in->attrs) : NULL;
	in->attrs = attrs_copied(p, o);
	in->refused = DECISION_EQUAL;
	hop = attr_next_hop(in->attrs);
	if (old != NULL && addr_equal(old, hop))
		return 0;
	if (!answer_find(p, path->peer, hop, &a))
		return -EAGAIN;
	in->eligible = a.eligible;
	in->igp_metric = a.metric;
	return 0;
}

/*
 * Ranks the paths accepted after the change: returns their number, with p->in and p->path ordered
 * by p->order; -EAGAIN.
 */
static int
rank_then(struct preview *p, const struct path_set *s)
{
	unsigned n = 0;

	if (own_announces(p)) {
		p->in[n] = (struct decision_input){.attrs = p->own->o.attrs,
			.eligible = true,
			.local = true,
			.after_external = (p->own->o.after & PATH_AFTER_EXTERNAL) != 0,
			.after_internal = (p->own->o.after & PATH_AFTER_INTERNAL) != 0};
		p->path[n++] = &p->self;
	}
	for (unsigned i = 0; i < s->count; i++) {
		const struct outcome *o = &p->outcome[i];
		int err;

		if (o->becomes == REMOVED ||
			(o->becomes == SAME && (s->path[i].label_flags & PATH_REJECTED)))
			continue;
		err = input_of(p, &s->path[i], o, &p->in[n]);
		if (err != 0)
			return err;
		p->path[n] = &s->path[i];
		if (p->in[n].attrs != NULL)
			n++;
	}
	decision_order(p->in, n, p->order, NULL);
	return (int)n;
}

/* How many lead there then, in p->then; -EAGAIN. */
static int
hops_then(struct preview *p, const struct path_set *s)
{
	int n = rank_then(p, s);
	unsigned count;

	if (n < 0)
		return n;
	count = decision_multipath(
		p->in, (unsigned)n, p->order, p->c.max_paths > 1 ? p->c.max_paths : 1);
	if (count > 0 && p->in[p->order[0]].local)
		return 0;
	for (unsigned i = 0; i < count; i++)
		p->then[i] = attr_next_hop(p->in[p->order[i]].attrs);
	return (int)count;
}

static bool
hops_equal(const struct preview *p, unsigned now, unsigned then)
{
	unsigned found = 0;

	for (unsigned i = 0; i < now; i++) {
		for (unsigned k = 0; k < then; k++) {
			if (addr_equal(&p->now[i], p->then[k])) {
				found++;
				break;
			}
		}
	}
	return now == then && found == now;
}

static void
fib_add(struct preview *p, bool now, bool then, bool same)
{
	if (!now && then)
		p->fib.added++;
	else if (now && !then)
		p->fib.removed++;
	else if (now && !same)
		p->fib.changed++;
}

uint64_t
preview_hop(const struct ip_addr *a)
{
	static const struct ip_addr blackhole;

	return addr_hash(addr_is_discard(a) ? &blackhole : a, 1);
}

/* As preview_entry.hops, of a BGP route. */
static uint64_t
hops_sum(const struct preview *p, bool then, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += preview_hop(then ? p->then[i] : &p->now[i]);
	return sum;
}

/* True if the BGP route is preferred to the route of the host; as fib_feed_rib_wins(). */
static bool
rib_wins(const uint8_t preference[SOURCE_COUNT], bool external, const struct preview_entry *host)
{
	enum route_source source = external ? SOURCE_EXTERNAL : SOURCE_INTERNAL;

	return host->source == SOURCE_COUNT || preference[source] < preference[host->source] ||
	       (preference[source] == preference[host->source] && source < host->source);
}

/* 0, -EAGAIN. */
static int
fib_count(struct preview *p, const struct path_set *s)
{
	static const struct preview_own none = {
		.now = {.source = SOURCE_COUNT}, .then = {.source = SOURCE_COUNT}};
	const struct preview_own *o = p->own != NULL ? &p->own->o : &none;
	unsigned now = hops_now(p, s);
	int then = hops_then(p, s);
	struct shard_peer peer = {0};
	bool rib_now, rib_then;

	if (then < 0)
		return then;
	if (now > 0)
		(void)shard_peer_peek(p->shard, s->path[0].peer, &peer);
	rib_now = now > 0 && rib_wins(p->c.preference[0], peer.external, &o->now);
	rib_then = then > 0 && rib_wins(p->c.preference[1], p->in[p->order[0]].external, &o->then);
	fib_add(p, rib_now || o->now.source != SOURCE_COUNT,
		rib_then || o->then.source != SOURCE_COUNT,
		rib_now && rib_then
			? hops_equal(p, now, (unsigned)then)
			: (rib_now ? hops_sum(p, false, now) : o->now.hops) ==
				  (rib_then ? hops_sum(p, true, (unsigned)then) : o->then.hops));
	if (p->own != NULL)
		p->own->seen = true;
	return 0;
}

void
preview_own_end(struct preview *p)
{
	for (unsigned i = 0; i < p->own_count && p->c.fib; i++) {
		const struct preview_own *o = &p->owns[i].o;

		if (!p->owns[i].seen)
			fib_add(p, o->now.source != SOURCE_COUNT, o->then.source != SOURCE_COUNT,
				o->now.hops == o->then.hops);
		p->owns[i].seen = true;
	}
}

/*
 * Results of all paths of the destination, in p->outcome. *any: a path changes. `s`: of `v`; empty for
 * a prefix that is no destination. 0, -ENOMEM.
 */
static int
paths_evaluate(struct preview *p, struct dest_id id, const struct dest_view *v,
	const struct path_set *s, bool *any)
{
	int err = reserve(p, s->count + 1u);
	bool own_changes;

	p->own = own_find(p, &v->prefix);
	own_changes = p->own != NULL && p->own->o.changes;
	*any = own_changes;
	p->self = (struct rib_path){.peer = PEER_SELF,
		.label_flags =
			RIB_LABEL_NONE << 12 | PATH_NEXT_HOP_UP |
			(p->own != NULL ? (uint32_t)p->own->o.source << PATH_SOURCE_SHIFT : 0)};
	p->shard =
		p->shards
			.at[id.v == DEST_NONE ? 0 : shards_index(&p->shards, id) % p->shards.count];
	p->copy_len = 0;
	for (unsigned i = 0; i < s->count && err == 0; i++) {
		if (own_changes && s->path[i].peer.v == PEER_SELF.v) {
			p->outcome[i] = (struct outcome){.becomes = REMOVED}; /* p->self then */
			continue;
		}
		err = path_evaluate(p, &s->path[i], &v->prefix, &p->outcome[i]);
		*any |= p->outcome[i].becomes != SAME;
	}
	return err;
}

/* All paths of a destination; v->paths NULL: none. 0, -ENOMEM. */
static int
view_all(struct preview *p, struct dest_id id, struct dest_view *v)
{
	struct shards_table t;

	/* again for each destination: the table may be removed between two calls */
	shards_table(&p->shards, p->c.table, &t);
	v->paths = NULL;
	while (shards_peek_all(&t, id, v, p->all, p->all_size) && v->paths != NULL &&
		v->behind > 0) {
		unsigned size = 2 * (v->paths->count + v->behind);
		struct path_set *all = arena_realloc(
			p->c.arena, p->all, sizeof(*all) + size * sizeof(all->path[0]));

		if (all == NULL)
			return -ENOMEM;
		p->all = all;
		p->all_size = size;
	}
	return 0;
}

int
preview_best(
	struct preview *p, struct dest_id id, const struct dest_view *v, struct preview_best *out)
{
	static const struct path_set none;
	const struct path_set *s;
	const struct decision_input *best;
	bool any = false;
	int n, err = 0;

	*out = (struct preview_best){0};
	if (v->behind > 0) {
		err = view_all(p, id, &p->view);
		v = &p->view;
	}
	s = v->paths != NULL ? v->paths : &none;
	if (err == 0)
		err = paths_evaluate(p, id, v, s, &any);
	if (err != 0 || !any)
		return err;
	n = rank_then(p, s);
	if (n < 0)
		return n;
	out->changes = true;
	best = n > 0 ? &p->in[p->order[0]] : NULL;
	if (best == NULL || !best->eligible)
		return 0;
	out->path = p->path[p->order[0]];
	out->attrs = best->attrs;
	if (out->path == &p->self)
		return 0;
	if (p->outcome[out->path - s->path].becomes == SAME) {
		out->attrs =
			unpack(p, &p->best, attr_get(shard_attrs(p->shard), out->path->accepted));
		if (out->attrs == NULL)
			return -ENOMEM;
	}
	out->changes = out->path != s->path || s->eligible == 0 || p->outcome[0].becomes != SAME;
	return 0;
}

int
preview_dest(struct preview *p, struct dest_id id)
{
	struct dest_view v;
	bool any;
	int err = id.v != DEST_NONE ? view_all(p, id, &v) : 0;

	if (err != 0 || id.v == DEST_NONE || v.paths == NULL)
		return err;
	err = paths_evaluate(p, id, &v, v.paths, &any);
	if (err == 0 && (any || p->c.all || p->own != NULL) && p->c.fib)
		err = fib_count(p, v.paths);
	if (err != 0 || !any)
		return err;
	for (unsigned i = 0; i < v.paths->count; i++) {
		struct outcome *o = &p->outcome[i];

		if (o->item == NULL)
			continue;
		if (o->becomes == ADDED)
			o->item->counts.added++;
		else if (o->becomes == REMOVED)
			o->item->counts.removed++;
		else if (o->becomes == CHANGED)
			o->item->counts.changed++;
	}
	return 0;
}
