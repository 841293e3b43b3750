/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The evaluation of policies. A begin collects the nodes that a walk can reach and whose attribute
 * conditions hold, up to the first node that decides for every prefix.
 *
 * All conditions are evaluated on the received attributes, also after a `goto`; changes are
 * applied in the order of the walk. A route permitted by a node with `goto` stays permitted if no
 * later node matches.
 */
#include "rib/policy/policy_impl.h"

#include "lpm/base/arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- running ---- */

struct outcome {
	const struct attr_set *attrs;
	uint64_t key; /* with many outcomes: the outcome now stored here */
	uint32_t tag;
	unsigned sets; /* enum policy_set_attr */
};

/*
 * Memory for results, which do not move. A result of a policy with many outcomes is valid until the
 * next policy_eval_prefix(), other results until the next begin.
 */
struct block {
	struct block *next;
	size_t size, used;
	alignas(16) uint8_t bytes[];
};

struct policy_eval {
	struct arena *arena;
	const struct policy *policy;
	const struct attr_set *attrs;
	struct policy_context context;

	unsigned could_count;
	unsigned *could; /* nodes whose attribute conditions hold, by seq */
	/* of each AS-path list, then each community list: 0 not evaluated, 1 no, 2 yes */
	uint8_t *memo;
	uint8_t *reach; /* nodes that a walk can reach; for a policy with goto */
	unsigned could_size, memo_size;

	struct policy_path *path;
	uint64_t match_errors;
	bool errors_alone; /* policy_eval_errors_alone() */

	struct block *first, *current;
	size_t made_len; /* bytes of all results since the last forget_results() */
	uint64_t made; /* bits of computed outcomes */
	struct outcome outcomes[POLICY_OUTCOMES_MAX];
	unsigned *applied; /* sets of the current walk, for a policy with many outcomes */
	unsigned applied_size;
};

int
policy_eval_create(struct arena *a, struct policy_eval **out)
{
	struct policy_eval *e = arena_calloc(a, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->arena = a;
	if (policy_path_create(a, &e->path)) {
		policy_eval_destroy(e);
		return -ENOMEM;
	}
	*out = e;
	return 0;
}

void
policy_eval_destroy(struct policy_eval *e)
{
	if (!e)
		return;
	for (struct block *b = e->first, *next; b; b = next) {
		next = b->next;
		arena_free(e->arena, b);
	}
	policy_path_destroy(e->path);
	arena_free(e->arena, e->could);
	arena_free(e->arena, e->reach);
	arena_free(e->arena, e->applied);
	arena_free(e->arena, e->memo);
	arena_free(e->arena, e);
}

/* ---- match errors: rare, any thread ---- */

static _Atomic uint64_t match_errors_of_all;
static pthread_mutex_t last_error_lock = PTHREAD_MUTEX_INITIALIZER;
static struct policy_match_error last_error;

void
policy_eval_errors_alone(struct policy_eval *e)
{
	e->errors_alone = true;
}

uint64_t
policy_eval_match_errors(const struct policy_eval *e)
{
	return e->match_errors;
}

uint64_t
policy_match_errors(struct policy_match_error *last)
{
	if (last) {
		pthread_mutex_lock(&last_error_lock);
		*last = last_error;
		pthread_mutex_unlock(&last_error_lock);
	}
	return atomic_load_explicit(&match_errors_of_all, memory_order_relaxed);
}

/* Never waits: while another thread has the lock, the older description stays. */
static void
count_match_error(struct policy_eval *e, unsigned index)
{
	const struct policy *p = e->policy;

	e->match_errors++;
	if (e->errors_alone)
		return;
	atomic_fetch_add_explicit(&match_errors_of_all, 1, memory_order_relaxed);
	if (pthread_mutex_trylock(&last_error_lock))
		return;
	snprintf(last_error.policy, sizeof(last_error.policy), "%s", p->name);
	snprintf(last_error.list, sizeof(last_error.list), "%s",
		policy_as_path_list_named(p->as_path_lists[index]));
	last_error.peer = e->context.peer;
	pthread_mutex_unlock(&last_error_lock);
}

/*
 * The matches below are calls: inline, their loops would need the registers of the cheap conditions
 * in condition_holds().
 */

/* Returns 1 (match), 0, -ENOMEM or -EIO. */
static __attribute__((noinline)) int
as_path_list_match(struct policy_eval *e, unsigned index)
{
	uint8_t *memo = &e->memo[index];
	int matches;

	if (*memo)
		return *memo - 1;
	matches = policy_path_match(e->path, e->policy->as_path_lists[index]);
	if (matches == -EIO)
		count_match_error(e, index);
	if (matches >= 0)
		*memo = matches ? 2 : 1;
	return matches;
}

static __attribute__((noinline)) bool
community_list_match_once(struct policy_eval *e, unsigned index)
{
	uint8_t *memo = &e->memo[e->policy->as_path_list_count + index];

	if (!*memo)
		*memo = policy_community_list_match(
				e->policy->community_lists[index], e->attrs, e->context.peer_asn)
				? 2
				: 1;
	return *memo == 2;
}

static bool
same_group(const struct condition *a, const struct condition *b)
{
	return a->kind == b->kind && a->group == b->group;
}

static bool
in_range(const struct condition *c, uint32_t value)
{
	return c->range.low <= value && value <= c->range.high;
}

static uint32_t
attr_or(const struct attr_set *a, unsigned has, uint32_t value, uint32_t absent)
{
	return a->has & has ? value : absent;
}

static __attribute__((noinline)) bool
next_hop_match(const struct policy_eval *e, unsigned list)
{
	const struct ip_addr *next_hop = attr_next_hop(e->attrs);

	if (next_hop->afi == AFI_NONE || addr_is_discard(next_hop))
		return false;
	struct prefix host = prefix_from_addr(next_hop, (uint8_t)prefix_max_len(next_hop->afi));
	return policy_prefix_list_match(e->policy->prefix_lists[list], &host);
}

/* `asn` 0: the path has no such number. */
static __attribute__((noinline)) bool
asn_match(const struct policy_eval *e, const struct condition *c, uint32_t asn)
{
	return c->peer_asn ? asn != 0 && asn == e->context.peer_asn
			   : policy_as_set_has(e->policy->as_sets[c->list], asn);
}

/* Returns 1 (holds), 0, -ENOMEM or -EIO. */
static int
condition_holds(struct policy_eval *e, const struct condition *c)
{
	const struct attr_set *a = e->attrs;

	switch (c->kind) {
	case MATCH_FAMILY:
		return c->word == (uint32_t)e->context.family;
	case MATCH_SOURCE:
		return c->word == (uint32_t)e->context.source;
	case MATCH_PEER:
		return addr_equal(&c->peer, &e->context.peer);
	case MATCH_ORIGIN:
		return c->word == a->origin;
	case MATCH_MED:
		return in_range(c, attr_or(a, ATTR_HAS_MED, a->med, 0));
	case MATCH_LOCAL_PREF:
		return in_range(c, attr_or(a, ATTR_HAS_LOCAL_PREF, a->local_pref, 100));
	case MATCH_AS_PATH_LENGTH:
		return in_range(c, a->as_path_hops);
	case MATCH_TAG:
		return in_range(c, e->context.tag);
	case MATCH_NEXT_HOP_LIST:
		return next_hop_match(e, c->list);
	case MATCH_COMMUNITY_LIST:
		return c->one ? attr_has_community(a, c->community)
			      : community_list_match_once(e, c->list);
	case MATCH_LARGE_COMMUNITY_LIST:
	case MATCH_EXT_COMMUNITY_LIST:
		return community_list_match_once(e, c->list);
	case MATCH_PEER_AS:
		return policy_as_set_has(e->policy->as_sets[c->list], e->context.peer_asn);
	case MATCH_PEER_GROUP:
		return c->group_key == e->context.peer_group;
	case MATCH_COMMUNITY_COUNT:
		return in_range(c, a->community_count);
	case MATCH_LARGE_COMMUNITY_COUNT:
		return in_range(c, a->large_community_count);
	case MATCH_EXT_COMMUNITY_COUNT:
		return in_range(c, a->ext_community_count);
	case MATCH_ORIGIN_AS:
		return asn_match(e, c, a->origin_asn);
	case MATCH_FIRST_AS:
		return asn_match(e, c, a->first_asn);
	case MATCH_ANY_AS:
		return policy_as_set_has_any(e->policy->as_sets[c->list], a);
	case MATCH_AS_PATH_LIST:
		return as_path_list_match(e, c->list);
	case MATCH_PREFIX_LIST:
	case MATCH_VALIDATION:
		break;
	}
	return 1;
}

/* All groups must hold, any condition of each group. Returns 1, 0, -ENOMEM or -EIO. */
static int
node_could(struct policy_eval *e, const struct node *n)
{
	for (unsigned i = n->by_prefix; i < n->count;) {
		const struct condition *first = &n->conditions[i];
		int holds = 0;
		for (; i < n->count && same_group(&n->conditions[i], first); i++)
			if (!holds) {
				holds = condition_holds(e, &n->conditions[i]);
				if (holds < 0)
					return holds;
				holds ^= n->conditions[i].negate;
			}
		if (!holds)
			return 0;
	}
	return 1;
}

static int
reserve(struct policy_eval *e, const struct policy *p)
{
	unsigned lists = p->as_path_list_count + p->community_list_count;

	if (p->node_count > e->could_size) {
		unsigned *grown = arena_realloc(e->arena, e->could, p->node_count * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		e->could = grown;
		/* a node behind the last one may be marked, too */
		uint8_t *reach = arena_realloc(e->arena, e->reach, p->node_count + 1);
		if (!reach)
			return -ENOMEM;
		e->reach = reach;
		e->could_size = p->node_count;
	}
	if (p->has_goto)
		memset(e->reach, 0, p->node_count + 1);
	if (p->many && p->node_count > e->applied_size) {
		unsigned *grown =
			arena_realloc(e->arena, e->applied, p->node_count * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		e->applied = grown;
		e->applied_size = p->node_count;
	}
	if (lists > e->memo_size) {
		uint8_t *grown = arena_realloc(e->arena, e->memo, lists);
		if (!grown)
			return -ENOMEM;
		e->memo = grown;
		e->memo_size = lists;
	}
	if (lists)
		memset(e->memo, 0, lists);
	return 0;
}

static void
forget_results(struct policy_eval *e)
{
	const struct policy *p = e->policy;

	for (struct block *b = e->first; b && b->used; b = b->next)
		b->used = 0;
	e->current = e->first;
	e->made_len = 0;
	e->made = 0;
	if (!p->many) {
		e->outcomes[0] = (struct outcome){.attrs = e->attrs, .tag = e->context.tag};
		e->made = 1;
	}
}

int
policy_eval_begin(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	const struct policy_context *context)
{
	unsigned furthest = 0;
	int err = reserve(e, p);

	if (err)
		return err;
	e->policy = p;
	e->attrs = attrs;
	e->context = *context;
	policy_path_begin(e->path, attrs);
	e->could_count = 0;
	forget_results(e);
	for (unsigned i = 0; i < p->node_count; i++) {
		const struct node *n = &p->nodes[i];
		if (p->has_goto && i > 0 && !e->reach[i])
			continue;
		int could = node_could(e, n);
		if (could == -EIO) {
			/*
			 * the undecided condition may belong to a deny: without nodes, every
			 * prefix is denied
			 */
			e->could_count = 0;
			return 0;
		}
		if (could < 0)
			return could;
		if (could)
			e->could[e->could_count++] = i;
		if (could && n->goto_index) {
			e->reach[n->goto_index] = 1;
			if (n->goto_index > furthest)
				furthest = n->goto_index;
		}
		if (p->has_goto && (!could || n->by_prefix)) {
			e->reach[i + 1] = 1;
		} else if (could && !n->by_prefix && i >= furthest) {
			/* every walk has ended */
			break;
		}
	}
	return 0;
}

/* ---- changes ---- */

static void *
block_alloc(struct policy_eval *e, size_t size)
{
	size = (size + 15) & ~(size_t)15;
	e->made_len += size;
	for (struct block *b = e->current; b; b = b->next)
		if (b->size - b->used >= size) {
			void *p = b->bytes + b->used;
			b->used += size;
			e->current = b;
			return p;
		}
	size_t room = size > 16384 ? size : 16384;
	struct block *b = arena_alloc(e->arena, sizeof(*b) + room);
	if (!b)
		return NULL;
	struct block **end = &e->first;
	while (*end)
		end = &(*end)->next;
	*end = b;
	*b = (struct block){.size = room, .used = size};
	e->current = b;
	return b->bytes;
}

static bool
values_have(const struct values *v, const uint8_t *value, unsigned size)
{
	for (unsigned i = 0; i < v->count; i++)
		if (!memcmp(v->v + (size_t)i * size, value, size))
			return true;
	return false;
}

static bool
patterns_have(const struct patterns *p, enum policy_communities kind, const uint8_t *value)
{
	for (unsigned i = 0; i < p->count; i++)
		if (policy_pattern_match(&p->v[i], kind, value, 0))
			return true;
	return false;
}

/*
 * Writes one kind of communities of `in`, edited, to `out`, which has room. Returns their number.
 */
static unsigned
edit_communities(const struct set *s, enum policy_communities kind, const uint8_t *in,
	unsigned count, uint8_t *out)
{
	const struct values *edit = s->communities[kind];
	unsigned size = policy_community_size[kind];
	struct values result = {out, 0, true};

	if (edit[EDIT_REPLACE].given) {
		in = edit[EDIT_REPLACE].v;
		count = edit[EDIT_REPLACE].count;
	}
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *value = in + (size_t)i * size;
		if (!values_have(&edit[EDIT_REMOVE], value, size) &&
			!patterns_have(&s->removed[kind], kind, value))
			memcpy(out + (size_t)result.count++ * size, value, size);
	}
	for (unsigned i = 0; i < edit[EDIT_ADD].count; i++) {
		const uint8_t *value = edit[EDIT_ADD].v + (size_t)i * size;
		if (!values_have(&result, value, size))
			memcpy(out + (size_t)result.count++ * size, value, size);
	}
	return result.count;
}

/* Relative changes end at the smallest and the largest number. */
static uint32_t
changed_by(uint32_t value, int64_t change)
{
	int64_t v = (int64_t)value + change;

	return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static void
set_fixed(const struct policy_eval *e, const struct set *s, struct attr_set *a)
{
	if (s->what & SET_LOCAL_PREF) {
		a->local_pref = changed_by(
			s->local_pref_relative ? attr_or(a, ATTR_HAS_LOCAL_PREF, a->local_pref, 100)
					       : s->local_pref,
			s->local_pref_change);
		a->has |= ATTR_HAS_LOCAL_PREF;
	}
	if (s->what & SET_MED) {
		a->med = changed_by(s->med_relative ? attr_or(a, ATTR_HAS_MED, a->med, 0) : s->med,
			s->med_change);
		a->has |= ATTR_HAS_MED;
	}
	if (s->what & SET_ORIGIN)
		a->origin = (uint8_t)s->origin;
	if (s->what & SET_NEXT_HOP) {
		a->next_hop = s->next_hop_kind == NEXT_HOP_PEER	  ? e->context.peer
			      : s->next_hop_kind == NEXT_HOP_SELF ? addr_discard()
								  : s->next_hop;
		a->next_hop_link_local = (struct ip_addr){0};
	}
}

/*
 * Writes one kind of `in`, edited, to *o and advances *o. Returns -E2BIG if there are too many for
 * a set.
 */
static int
set_communities(const struct set *s, enum policy_communities kind, const struct attr_set *in,
	uint8_t **o, uint16_t *out_count)
{
	unsigned size = policy_community_size[kind], count;
	const uint8_t *values;

	count = policy_communities_of(in, kind, &values);
	count = edit_communities(s, kind, values, count, *o);
	if (count > UINT16_MAX)
		return -E2BIG;
	*out_count = (uint16_t)count;
	*o += (size_t)size * count;
	return 0;
}

/* Writes the variable parts in the order of struct attr_set. Returns 0 or -E2BIG. */
static int
set_variable(const struct set *s, const struct attr_set *in, struct attr_set *a)
{
	uint8_t *o = a->var + in->as_path_len;

	memcpy(a->var, attr_as_path(in), in->as_path_len);
	if (set_communities(s, COMMUNITIES_STANDARD, in, &o, &a->community_count) ||
		set_communities(s, COMMUNITIES_EXTENDED, in, &o, &a->ext_community_count) ||
		set_communities(s, COMMUNITIES_LARGE, in, &o, &a->large_community_count))
		return -E2BIG;
	memcpy(o, attr_cluster_list(in), 4u * in->cluster_count + in->unknown_len);
	attr_derive_communities(a);
	return 0;
}

/* Upper bound of the set's size: everything added, nothing removed. */
static size_t
size_bound(const struct set *s, const struct attr_set *in)
{
	size_t size = attr_set_size(in);

	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		size += (size_t)policy_community_size[kind] *
			(s->communities[kind][EDIT_ADD].count +
				s->communities[kind][EDIT_REPLACE].count);
	return size;
}

/* Returns 0, -ENOMEM, or -E2BIG (the result would not be a legal set). */
static int
set_apply(struct policy_eval *e, const struct set *s, const struct attr_set *in,
	const struct attr_set **out)
{
	struct attr_set *a = block_alloc(e, size_bound(s, in));

	if (!a)
		return -ENOMEM;
	memcpy(a, in, sizeof(*a));
	set_fixed(e, s, a);
	if (s->what & SET_COMMUNITIES) {
		if (set_variable(s, in, a))
			return -E2BIG;
	} else {
		memcpy(a->var, in->var, attr_set_var_len(in));
	}
	*out = a;
	if (attr_set_size(a) > ATTR_SET_MAX)
		return -E2BIG;
	uint32_t asn = s->prepend_first ? in->first_asn : s->prepend_asn;
	if (s->prepend_count == 0 || asn == 0)
		return 0;
	/* each new segment has two bytes of its own */
	size_t size = attr_set_size(a) + 4 * (size_t)s->prepend_count +
		      2 * ((size_t)s->prepend_count / 255 + 2);
	struct attr_set *longer = block_alloc(e, size);
	if (!longer)
		return -ENOMEM;
	*out = longer;
	if (size > ATTR_SET_MAX)
		size = ATTR_SET_MAX;
	return attr_set_prepend(a, asn, s->prepend_count, longer, size) ? -E2BIG : 0;
}

/* Finds a step; number_outcomes() has numbered every step of any walk. */
static unsigned
step_find(const struct policy *p, unsigned before, unsigned set)
{
	unsigned slot = p->has_goto ? 1 : set;

	while (p->steps[slot].before != before || p->steps[slot].set != set)
		slot++;
	return slot;
}

/* Applies `s` to `before`. Returns 0, -ENOMEM or -E2BIG; on error *out is unchanged. */
static int
outcome_apply(struct policy_eval *e, const struct set *s, const struct outcome *before,
	struct outcome *out)
{
	struct outcome o = *before;
	int err = set_apply(e, s, before->attrs, &o.attrs);

	if (err)
		return err;
	if (s->what & SET_TAG)
		o.tag = s->tag;
	o.sets |= (s->what & SET_MED ? POLICY_SETS_MED : 0u) |
		  (s->what & SET_NEXT_HOP ? POLICY_SETS_NEXT_HOP : 0u) |
		  ((s->what & (SET_ORIGIN | SET_COMMUNITIES)) || s->prepend_count > 0
				  ? POLICY_SETS_OTHER
				  : 0u);
	*out = o;
	return 0;
}

/* Computes the outcome of a step whose `before` is known. Returns 0, -ENOMEM or -E2BIG. */
static int
outcome_make(struct policy_eval *e, unsigned slot)
{
	const struct policy_step *step = &e->policy->steps[slot];
	int err;

	if (e->made >> slot & 1)
		return 0;
	err = outcome_apply(
		e, &e->policy->sets[step->set], &e->outcomes[step->before], &e->outcomes[slot]);
	if (!err)
		e->made |= UINT64_C(1) << slot;
	return err;
}

/* ---- policies with many outcomes: results are computed when a prefix needs them ---- */

#define MADE_MAX (UINT32_C(1) << 20) /* bytes of results kept for further prefixes */

/* Outcome after node `n`, which sets something. */
static uint64_t
outcome_step(const struct policy *p, uint64_t before, const struct node *n)
{
	if (!p->many)
		return step_find(p, (unsigned)before, n->set);
	if (!p->keyed)
		return POLICY_OUTCOME_ALONE;
	return POLICY_KEY | before |
	       (n->goto_index ? UINT64_C(1) << n->bit : (uint64_t)n->set << POLICY_KEY_BITS);
}

/* Applies these sets in order. Returns 0, -ENOMEM or -E2BIG. */
static int
many_make(struct policy_eval *e, uint64_t outcome, const unsigned *sets, unsigned count,
	struct outcome *out)
{
	unsigned place = policy_outcome_place(outcome);
	struct outcome *memo = &e->outcomes[place];
	int err = 0;

	if (e->made >> place & 1 && memo->key == outcome && outcome != POLICY_OUTCOME_ALONE) {
		*out = *memo;
		return 0;
	}
	if (e->made_len > MADE_MAX)
		forget_results(e);
	*out = (struct outcome){.attrs = e->attrs, .tag = e->context.tag, .key = outcome};
	for (unsigned i = 0; i < count && !err; i++)
		err = outcome_apply(e, &e->policy->sets[sets[i]], out, out);
	if (!err) {
		*memo = *out;
		e->made |= UINT64_C(1) << place;
	}
	return err;
}

/* Sets of a key, in the order of the walk. Returns their number. */
static unsigned
key_sets(const struct policy *p, uint64_t key, unsigned sets[POLICY_KEY_BITS + 1])
{
	unsigned count = 0, last = (unsigned)(key >> POLICY_KEY_BITS & POLICY_KEY_SETS);

	for (unsigned n = 0; n < p->node_count; n++) {
		const struct node *node = &p->nodes[n];

		if (node->permit && node->set != 0 && node->goto_index != 0 && key >> node->bit & 1)
			sets[count++] = node->set;
	}
	if (last != 0)
		sets[count++] = last;
	return count;
}

static bool
prefix_lists_hold(const struct policy *p, const struct node *n, const struct prefix *prefix)
{
	for (unsigned i = 0; i < n->prefix_lists;) {
		const struct condition *c = &n->conditions[i];
		unsigned group = c->group;
		bool holds = false;

		for (; i < n->prefix_lists && c->group == group; c = &n->conditions[++i])
			holds = holds || policy_prefix_list_match(
						 p->prefix_lists[c->list], prefix) != c->negate;
		if (!holds)
			return false;
	}
	return true;
}

/* Validates the prefix when the first node asks: *state is VALIDATION_STATES before. */
static bool
validation_holds(const struct policy_eval *e, const struct node *n, const struct prefix *prefix,
	enum validation *state)
{
	if (n->by_prefix == n->prefix_lists)
		return true;
	if (*state == VALIDATION_STATES)
		*state = vrps_validate(
			e->context.vrps, prefix, vrp_origin(e->attrs, e->context.own_asn));
	for (unsigned i = n->prefix_lists; i < n->by_prefix;) {
		unsigned group = n->conditions[i].group;
		bool holds = false;

		for (; i < n->by_prefix && n->conditions[i].group == group; i++)
			holds |= (n->conditions[i].word == (uint32_t)*state) !=
				 n->conditions[i].negate;
		if (!holds)
			return false;
	}
	return true;
}

bool
policy_asks_prefix(const struct policy *p)
{
	return p->prefix_list_count > 0 || p->validates;
}

bool
policy_asks_few(const struct policy *p)
{
	return p->few_prefixes;
}

bool
policy_may_permit(const struct policy *p, const struct prefix *prefix)
{
	for (unsigned i = 0; p->few_prefixes && i < p->node_count; i++)
		if (p->nodes[i].permit && !p->nodes[i].jump &&
			prefix_lists_hold(p, &p->nodes[i], prefix))
			return true;
	return !p->few_prefixes;
}

int
policy_eval_prefix(struct policy_eval *e, const struct prefix *prefix, struct policy_verdict *out)
{
	const struct policy *p = e->policy;
	struct outcome made = {.attrs = e->attrs, .tag = e->context.tag};
	enum validation state = VALIDATION_STATES;
	unsigned begin = 0, applied = 0;
	uint64_t outcome = 0;
	int err = 0;

	*out = (struct policy_verdict){.attrs = e->attrs, .tag = e->context.tag};
	for (unsigned i = 0; i < e->could_count; i++) {
		const struct node *n = &p->nodes[e->could[i]];
		if (e->could[i] < begin ||
			(n->by_prefix > 0 && (!prefix_lists_hold(p, n, prefix) ||
						     !validation_holds(e, n, prefix, &state))))
			continue;
		if (n->seq == POLICY_NODE_LAST && !out->permit)
			break; /* no node of the policy matched */
		if (!n->jump) {
			if (n->seq != POLICY_NODE_LAST) {
				out->seq = n->report;
				out->node = n->place;
			}
			out->permit = n->permit;
		}
		if (n->permit && n->set) {
			outcome = outcome_step(p, outcome, n);
			if (p->many)
				e->applied[applied++] = n->set;
			else
				err = outcome_make(e, (unsigned)outcome);
		}
		begin = n->goto_index;
		if (err || !begin)
			break;
	}
	if (!err && applied && out->permit)
		err = many_make(e, outcome, e->applied, applied, &made);
	if (err == -ENOMEM)
		return err;
	/* the AS path or a list is full: without the change, the route is denied */
	if (err || !out->permit) {
		out->permit = false;
		return 0;
	}
	if (!p->many)
		made = e->outcomes[outcome];
	out->outcome = outcome;
	out->attrs = made.attrs;
	out->tag = made.tag;
	out->sets = made.sets;
	return 0;
}

/* ---- digests ---- */

#define DIGEST_NODES 64u

bool
policy_may_take_long(const struct policy *p)
{
	return p->as_path_list_count + p->community_list_count > 0;
}

bool
policy_has_digest(const struct policy *p)
{
	return p->node_count <= DIGEST_NODES && (!p->many || p->keyed) && !p->validates;
}

struct policy_digest
policy_eval_digest(const struct policy_eval *e)
{
	struct policy_digest d = {0};

	for (unsigned i = 0; i < e->could_count; i++)
		d.could |= 1ull << e->could[i];
	return d;
}

bool
policy_digest_decide(const struct policy *p, struct policy_digest d, const struct prefix *prefix,
	struct policy_decision *out)
{
	*out = (struct policy_decision){0};
	for (uint64_t left = d.could; left != 0;) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		const struct node *n = &p->nodes[i];

		left &= left - 1;
		if (prefix == NULL && n->prefix_lists > 0)
			return false;
		if (!prefix_lists_hold(p, n, prefix))
			continue;
		if (n->seq == POLICY_NODE_LAST && !out->permit)
			break; /* no node of the policy matched */
		if (!n->jump) {
			if (n->seq != POLICY_NODE_LAST) {
				out->seq = n->report;
			}
			out->permit = n->permit;
		}
		if (n->permit && n->set)
			out->outcome = outcome_step(p, out->outcome, n);
		if (!n->goto_index)
			break;
		left &= UINT64_MAX << n->goto_index;
	}
	if (!out->permit)
		out->outcome = 0;
	return true;
}

int
policy_eval_outcome(struct policy_eval *e, const struct policy *p, const struct attr_set *attrs,
	const struct ip_addr *peer, uint64_t outcome, const struct attr_set **out)
{
	unsigned chain[POLICY_OUTCOMES_MAX], n = 0;
	struct outcome made = {.attrs = attrs};
	int err = 0;

	static_assert(POLICY_KEY_BITS < POLICY_OUTCOMES_MAX, "key_sets() has room");
	e->policy = p;
	e->attrs = attrs;
	e->context.peer = *peer;
	e->could_count = 0;
	forget_results(e);
	if (p->many && outcome != 0) {
		n = key_sets(p, outcome, chain);
		err = many_make(e, outcome, chain, n, &made);
	} else if (!p->many) {
		/* the `before` of a step has a lower number than the step */
		for (unsigned at = (unsigned)outcome; at != 0; at = p->steps[at].before)
			chain[n++] = at;
		while (n > 0 && !err)
			err = outcome_make(e, chain[--n]);
		made = e->outcomes[outcome];
	}
	*out = err ? NULL : made.attrs;
	return err;
}

static bool
edits_only_add(const struct set *s, enum policy_communities kind)
{
	const struct values *edit = s->communities[kind];

	return s->removed[kind].count == 0 && !edit[EDIT_REPLACE].given &&
	       edit[EDIT_REPLACE].count == 0 && edit[EDIT_REMOVE].count == 0;
}

bool
policy_outcome_appends(
	const struct policy *p, uint64_t outcome, const uint8_t **values, unsigned *count)
{
	const struct set *s;

	*values = NULL;
	*count = 0;
	if (outcome == 0)
		return true;
	if (p->many || p->steps[outcome].before != 0)
		return false;
	s = &p->sets[p->steps[outcome].set];
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		if (!edits_only_add(s, kind) ||
			(kind != COMMUNITIES_STANDARD && s->communities[kind][EDIT_ADD].count > 0))
			return false;
	*values = s->communities[COMMUNITIES_STANDARD][EDIT_ADD].v;
	*count = s->communities[COMMUNITIES_STANDARD][EDIT_ADD].count;
	return (s->what & (SET_MED | SET_ORIGIN | SET_NEXT_HOP)) == 0 && s->prepend_count == 0;
}

bool
policy_outcome_only_appends(
	const struct policy *p, uint64_t outcome, const uint8_t **values, unsigned *count)
{
	return policy_outcome_appends(p, outcome, values, count) &&
	       (outcome == 0 || (p->sets[p->steps[outcome].set].what & ~SET_COMMUNITIES) == 0);
}

/* ---- hashes of outcomes ---- */

static uint64_t
values_hash(const struct values *v, unsigned size, uint64_t h)
{
	if (!v->given && v->count == 0)
		return h;
	return hash_words(
		h, v->count + 1, v->count > 0 ? hash_bytes(v->v, (size_t)v->count * size) : 0);
}

/* Continues the hash of the changes so far with the changes of `s`. */
static uint64_t
set_hash(const struct set *s, uint64_t h)
{
	h = hash_words(h, s->what,
		hash_words(s->what & SET_LOCAL_PREF ? s->local_pref : 0,
			s->what & SET_MED ? s->med : 0, s->what & SET_ORIGIN ? s->origin : 0));
	if (s->local_pref_relative || s->med_relative)
		h = hash_words(h,
			hash_words(1, (uint64_t)s->local_pref_change, s->local_pref_relative),
			hash_words(2, (uint64_t)s->med_change, s->med_relative));
	if (s->what & SET_NEXT_HOP)
		h = hash_words(h, hash_bytes(&s->next_hop, sizeof(s->next_hop)),
			1 + (uint64_t)s->next_hop_kind);
	if (s->prepend_count > 0)
		h = hash_words(h, s->prepend_first ? UINT64_MAX : s->prepend_asn, s->prepend_count);
	if (!(s->what & SET_COMMUNITIES))
		return h;
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++) {
		if (s->removed[kind].count > 0)
			h = hash_words(h, kind,
				hash_bytes(s->removed[kind].v,
					s->removed[kind].count * sizeof(*s->removed[kind].v)));
		for (unsigned edit = 0; edit < EDIT_COUNT; edit++)
			h = values_hash(&s->communities[kind][edit], policy_community_size[kind],
				hash_words(h, kind, edit));
	}
	return h;
}

uint64_t
policy_outcome_hash(const struct policy *p, uint64_t outcome)
{
	unsigned chain[POLICY_OUTCOMES_MAX], n = 0;
	uint64_t h = 0;

	if (outcome == 0)
		return 0;
	if (p->many) {
		n = key_sets(p, outcome, chain);
		for (unsigned i = 0; i < n; i++)
			h = set_hash(&p->sets[chain[i]], h);
		return h;
	}
	for (unsigned at = (unsigned)outcome; at != 0; at = p->steps[at].before)
		chain[n++] = p->steps[at].set;
	while (n > 0)
		h = set_hash(&p->sets[chain[--n]], h);
	return h;
}
