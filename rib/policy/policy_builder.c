/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/policy/policy_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct policy_builder {
	struct policy p;
	char *name;
	bool negate;
	uint16_t group; /* of the next conditions */
};

static struct node accept_node = {.seq = 1, .report = 1, .permit = true};
static struct set no_set;
static const struct policy accept_all = {.name = "accept-all",
	.node_count = 1,
	.nodes = &accept_node,
	.set_count = 1,
	.sets = &no_set,
	.step_count = 1};
static const struct policy deny_all = {
	.name = "deny-all", .set_count = 1, .sets = &no_set, .step_count = 1};

const struct policy *
policy_accept_all(void)
{
	return &accept_all;
}

const struct policy *
policy_deny_all(void)
{
	return &deny_all;
}

const char *
policy_name(const struct policy *p)
{
	return p->name;
}

bool
policy_sets_nothing(const struct policy *p)
{
	for (unsigned i = 0; i < p->node_count; i++)
		if (p->nodes[i].set != 0)
			return false;
	return true;
}

static bool
condition_uses_peer(const struct policy *p, const struct condition *c)
{
	switch ((unsigned)c->kind) {
	case MATCH_PEER:
	case MATCH_PEER_AS:
	case MATCH_PEER_GROUP:
		return true;
	case MATCH_ORIGIN_AS:
	case MATCH_FIRST_AS:
		return c->peer_asn;
	case MATCH_COMMUNITY_LIST:
	case MATCH_LARGE_COMMUNITY_LIST:
	case MATCH_EXT_COMMUNITY_LIST:
		return policy_community_list_uses_peer(p->community_lists[c->list]);
	default:
		return false;
	}
}

bool
policy_uses_peer(const struct policy *p)
{
	for (unsigned i = 0; i < p->node_count; i++)
		for (unsigned k = 0; k < p->nodes[i].count; k++)
			if (condition_uses_peer(p, &p->nodes[i].conditions[k]))
				return true;
	return false;
}

bool
policy_uses_group(const struct policy *p)
{
	for (unsigned i = 0; i < p->node_count; i++)
		for (unsigned k = 0; k < p->nodes[i].count; k++)
			if (p->nodes[i].conditions[k].kind == MATCH_PEER_GROUP)
				return true;
	return false;
}

bool
policy_sets_next_hop(const struct policy *p, enum policy_next_hop kind)
{
	for (unsigned i = 0; i < p->set_count; i++)
		if (p->sets[i].what & SET_NEXT_HOP && p->sets[i].next_hop_kind == kind)
			return true;
	return false;
}

bool
policy_validates(const struct policy *p)
{
	return p->validates;
}

static void
set_fini(struct set *s)
{
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		for (unsigned edit = 0; edit < EDIT_COUNT; edit++)
			free(s->communities[kind][edit].v);
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		free(s->removed[kind].v);
}

static void
policy_fini(struct policy *p)
{
	for (unsigned i = 0; i < p->node_count; i++)
		free(p->nodes[i].conditions);
	for (unsigned i = 0; i < p->set_count; i++)
		set_fini(&p->sets[i]);
	for (unsigned i = 0; i < p->prefix_list_count; i++)
		policy_prefix_list_unref(p->prefix_lists[i]);
	for (unsigned i = 0; i < p->as_path_list_count; i++)
		policy_as_path_list_unref(p->as_path_lists[i]);
	for (unsigned i = 0; i < p->community_list_count; i++)
		policy_community_list_unref(p->community_lists[i]);
	for (unsigned i = 0; i < p->as_set_count; i++)
		policy_as_set_unref(p->as_sets[i]);
	free(p->as_sets);
	free(p->nodes);
	free(p->sets);
	free(p->prefix_lists);
	free(p->as_path_lists);
	free(p->community_lists);
}

void
policy_destroy(struct policy *p)
{
	struct policy_builder *b = (struct policy_builder *)p;

	if (!p || p == &accept_all || p == &deny_all)
		return;
	policy_builder_destroy(b);
}

void
policy_builder_destroy(struct policy_builder *b)
{
	if (!b)
		return;
	policy_fini(&b->p);
	free(b->name);
	free(b);
}

int
policy_builder_create(const char *name, struct policy_builder **out)
{
	struct policy_builder *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->name = strdup(name);
	b->p.name = b->name;
	b->p.sets = calloc(1, sizeof(*b->p.sets));
	if (!b->name || !b->p.sets) {
		policy_builder_destroy(b);
		return -ENOMEM;
	}
	b->p.set_count = b->p.set_size = 1;
	*out = b;
	return 0;
}

/* The set of a node is the last set until the next node. */
static int
add_node(struct policy_builder *b, uint32_t seq, bool permit)
{
	struct policy *p = &b->p;
	struct node *nodes =
		policy_vector_reserve(p->nodes, p->node_count, &p->node_size, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	p->nodes = nodes;
	struct set *sets =
		policy_vector_reserve(p->sets, p->set_count, &p->set_size, sizeof(*sets));
	if (!sets)
		return -ENOMEM;
	p->sets = sets;
	p->sets[p->set_count] = (struct set){0};
	p->nodes[p->node_count] = (struct node){.seq = seq,
		.report = seq,
		.place = seq < POLICY_NODE_BLACKHOLE ? p->node_count : UINT32_MAX,
		.permit = permit,
		.set = p->set_count++};
	p->node_count++;
	b->negate = false;
	b->group = 0;
	return 0;
}

int
policy_builder_node(struct policy_builder *b, uint32_t seq, bool permit)
{
	struct policy *p = &b->p;

	if (seq == 0 || (p->node_count && p->nodes[p->node_count - 1].seq >= seq &&
				p->nodes[p->node_count - 1].seq != POLICY_NODE_BLACKHOLE))
		return -EINVAL;
	return add_node(b, seq, permit);
}

static struct node *
last_node(struct policy_builder *b)
{
	return &b->p.nodes[b->p.node_count - 1];
}

static struct set *
last_set(struct policy_builder *b)
{
	return &b->p.sets[b->p.set_count - 1];
}

void
policy_builder_goto(struct policy_builder *b, uint32_t seq)
{
	last_node(b)->goto_seq = seq;
	b->p.has_goto = true;
}

void
policy_builder_report(struct policy_builder *b, uint32_t seq)
{
	last_node(b)->report = seq;
}

void
policy_builder_jump(struct policy_builder *b)
{
	last_node(b)->jump = true;
}

void
policy_builder_group(struct policy_builder *b)
{
	b->group = (uint16_t)++last_node(b)->groups;
}

void
policy_builder_negate(struct policy_builder *b, bool negate)
{
	b->negate = negate;
}

static int
insert_condition(struct policy_builder *b, const struct condition *c)
{
	struct node *n = last_node(b);
	struct condition *grown =
		policy_vector_reserve(n->conditions, n->count, &n->size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	n->conditions = grown;
	unsigned at = n->count++;
	while (at > 0 &&
		(grown[at - 1].kind > c->kind ||
			(grown[at - 1].kind == c->kind && grown[at - 1].group > c->group))) {
		grown[at] = grown[at - 1];
		at--;
	}
	grown[at] = *c;
	n->prefix_lists += c->kind == MATCH_PREFIX_LIST;
	n->by_prefix += c->kind <= MATCH_VALIDATION;
	b->p.validates |= c->kind == MATCH_VALIDATION;
	return 0;
}

static int
add_condition(struct policy_builder *b, const struct condition *given)
{
	struct condition c = *given;

	c.negate = b->negate;
	c.group = b->negate ? (uint16_t)++last_node(b)->groups : b->group;
	return insert_condition(b, &c);
}

static int
add_prefix_list(struct policy_builder *b, enum condition_kind kind, struct policy_prefix_list *l)
{
	struct policy *p = &b->p;
	struct policy_prefix_list **grown = policy_vector_reserve(
		p->prefix_lists, p->prefix_list_count, &p->prefix_list_size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	p->prefix_lists = grown;
	grown[p->prefix_list_count] = policy_prefix_list_ref(l);
	return add_condition(b, &(struct condition){.kind = kind, .list = p->prefix_list_count++});
}

int
policy_builder_match_prefix_list(struct policy_builder *b, struct policy_prefix_list *l)
{
	return add_prefix_list(b, MATCH_PREFIX_LIST, l);
}

int
policy_builder_match_next_hop_list(struct policy_builder *b, struct policy_prefix_list *l)
{
	return add_prefix_list(b, MATCH_NEXT_HOP_LIST, l);
}

/* A list has one index for all nodes, so each list is matched once per attribute set. */
int
policy_builder_match_as_path_list(struct policy_builder *b, struct policy_as_path_list *l)
{
	struct policy *p = &b->p;
	unsigned i = 0;

	while (i < p->as_path_list_count && p->as_path_lists[i] != l)
		i++;
	if (i == p->as_path_list_count) {
		struct policy_as_path_list **grown = policy_vector_reserve(p->as_path_lists,
			p->as_path_list_count, &p->as_path_list_size, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		p->as_path_lists = grown;
		grown[p->as_path_list_count++] = policy_as_path_list_ref(l);
	}
	return add_condition(b, &(struct condition){.kind = MATCH_AS_PATH_LIST, .list = i});
}

int
policy_builder_match_community_list(struct policy_builder *b, struct policy_community_list *l)
{
	struct policy *p = &b->p;
	unsigned i = 0;

	while (i < p->community_list_count && p->community_lists[i] != l)
		i++;
	if (i == p->community_list_count) {
		struct policy_community_list **grown = policy_vector_reserve(p->community_lists,
			p->community_list_count, &p->community_list_size, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		p->community_lists = grown;
		grown[p->community_list_count++] = policy_community_list_ref(l);
	}
	enum condition_kind kind = MATCH_COMMUNITY_LIST + (unsigned)policy_community_list_kind(l);
	return add_condition(b, &(struct condition){.kind = kind, .list = i});
}

int
policy_builder_match_peer(struct policy_builder *b, const struct ip_addr *peer)
{
	return add_condition(b, &(struct condition){.kind = MATCH_PEER, .peer = *peer});
}

int
policy_builder_match_origin(struct policy_builder *b, enum origin origin)
{
	return add_condition(b, &(struct condition){.kind = MATCH_ORIGIN, .word = origin});
}

int
policy_builder_match_family(struct policy_builder *b, enum family family)
{
	return add_condition(b, &(struct condition){.kind = MATCH_FAMILY, .word = family});
}

int
policy_builder_match_validation(struct policy_builder *b, enum validation state)
{
	return add_condition(b, &(struct condition){.kind = MATCH_VALIDATION, .word = state});
}

int
policy_builder_match_source(struct policy_builder *b, enum route_source source)
{
	return add_condition(b, &(struct condition){.kind = MATCH_SOURCE, .word = source});
}

int
policy_builder_match_number(
	struct policy_builder *b, enum policy_number which, uint32_t low, uint32_t high)
{
	static const enum condition_kind kinds[] = {
		[NUMBER_MED] = MATCH_MED,
		[NUMBER_LOCAL_PREF] = MATCH_LOCAL_PREF,
		[NUMBER_AS_PATH_LENGTH] = MATCH_AS_PATH_LENGTH,
		[NUMBER_TAG] = MATCH_TAG,
		[NUMBER_COMMUNITIES] = MATCH_COMMUNITY_COUNT,
		[NUMBER_LARGE_COMMUNITIES] = MATCH_LARGE_COMMUNITY_COUNT,
		[NUMBER_EXT_COMMUNITIES] = MATCH_EXT_COMMUNITY_COUNT,
	};

	return add_condition(b, &(struct condition){.kind = kinds[which], .range = {low, high}});
}

static const enum condition_kind as_kinds[] = {
	[AS_OF_PEER] = MATCH_PEER_AS,
	[AS_ORIGIN] = MATCH_ORIGIN_AS,
	[AS_FIRST] = MATCH_FIRST_AS,
	[AS_ANY] = MATCH_ANY_AS,
};

int
policy_builder_match_as_set(struct policy_builder *b, enum policy_as which, struct policy_as_set *s)
{
	struct policy *p = &b->p;
	struct policy_as_set **grown =
		policy_vector_reserve(p->as_sets, p->as_set_count, &p->as_set_size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	p->as_sets = grown;
	grown[p->as_set_count] = policy_as_set_ref(s);
	return add_condition(
		b, &(struct condition){.kind = as_kinds[which], .list = p->as_set_count++});
}

int
policy_builder_match_peer_asn(struct policy_builder *b, enum policy_as which)
{
	return add_condition(b, &(struct condition){.kind = as_kinds[which], .peer_asn = true});
}

int
policy_builder_match_peer_group(struct policy_builder *b, uint64_t group_key)
{
	return add_condition(
		b, &(struct condition){.kind = MATCH_PEER_GROUP, .group_key = group_key});
}

void
policy_builder_set_number(struct policy_builder *b, enum policy_number which, uint32_t value)
{
	struct set *s = last_set(b);

	switch (which) {
	case NUMBER_MED:
		s->what |= SET_MED;
		s->med = value;
		s->med_relative = false;
		s->med_change = 0;
		break;
	case NUMBER_LOCAL_PREF:
		s->what |= SET_LOCAL_PREF;
		s->local_pref = value;
		s->local_pref_relative = false;
		s->local_pref_change = 0;
		break;
	case NUMBER_TAG:
		s->what |= SET_TAG;
		s->tag = value;
		break;
	case NUMBER_AS_PATH_LENGTH:
	case NUMBER_COMMUNITIES:
	case NUMBER_LARGE_COMMUNITIES:
	case NUMBER_EXT_COMMUNITIES:
	case NUMBERS:
		break;
	}
}

void
policy_builder_set_relative(struct policy_builder *b, enum policy_number which, int64_t change)
{
	struct set *s = last_set(b);

	if (which == NUMBER_MED) {
		s->med_relative |= !(s->what & SET_MED);
		s->what |= SET_MED;
		s->med_change += change;
	} else if (which == NUMBER_LOCAL_PREF) {
		s->local_pref_relative |= !(s->what & SET_LOCAL_PREF);
		s->what |= SET_LOCAL_PREF;
		s->local_pref_change += change;
	}
}

void
policy_builder_set_origin(struct policy_builder *b, enum origin origin)
{
	last_set(b)->what |= SET_ORIGIN;
	last_set(b)->origin = origin;
}

void
policy_builder_set_next_hop(struct policy_builder *b, const struct ip_addr *next_hop)
{
	last_set(b)->what |= SET_NEXT_HOP;
	last_set(b)->next_hop_kind = NEXT_HOP_ADDRESS;
	last_set(b)->next_hop = *next_hop;
}

void
policy_builder_set_next_hop_kind(struct policy_builder *b, enum policy_next_hop kind)
{
	last_set(b)->what |= SET_NEXT_HOP;
	last_set(b)->next_hop_kind = kind;
	memset(&last_set(b)->next_hop, 0, sizeof(last_set(b)->next_hop));
}

void
policy_builder_set_prepend_first(struct policy_builder *b, unsigned count)
{
	last_set(b)->prepend_first = true;
	last_set(b)->prepend_asn = 0;
	last_set(b)->prepend_count = count;
}

void
policy_builder_set_prepend(struct policy_builder *b, uint32_t asn, unsigned count)
{
	last_set(b)->prepend_first = false;
	last_set(b)->prepend_asn = asn;
	last_set(b)->prepend_count = count;
}

int
policy_builder_set_communities(struct policy_builder *b, enum policy_communities kind,
	enum policy_edit edit, const uint8_t *values, unsigned count)
{
	struct values *v = &last_set(b)->communities[kind][edit];
	uint8_t *copy = malloc((size_t)count * policy_community_size[kind] + 1);

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, values, (size_t)count * policy_community_size[kind]);
	free(v->v);
	*v = (struct values){copy, count, true};
	last_set(b)->what |= SET_COMMUNITIES;
	return 0;
}

/* ---- copies ---- */

/* Adds references on the `count` lists of another policy to a vector. */
#define LISTS_SHARE(b, member, from, ref)                                                          \
	do {                                                                                       \
		for (unsigned i = 0; i < (from)->member##_count; i++) {                            \
			void *v = policy_vector_reserve((b)->p.member##s, (b)->p.member##_count,   \
				&(b)->p.member##_size, sizeof(*(b)->p.member##s));                 \
			if (v == NULL)                                                             \
				return -ENOMEM;                                                    \
			(b)->p.member##s = v;                                                      \
			(b)->p.member##s[(b)->p.member##_count++] = ref((from)->member##s[i]);     \
		}                                                                                  \
	} while (0)

static int
set_copy(struct set *to, const struct set *from)
{
	*to = *from;
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		for (unsigned edit = 0; edit < EDIT_COUNT; edit++)
			to->communities[kind][edit].v = NULL;
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		to->removed[kind].v = NULL;
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++) {
		const struct patterns *r = &from->removed[kind];
		struct community_pattern *copy =
			r->count > 0 ? malloc(r->count * sizeof(*copy)) : NULL;

		if (r->count > 0 && copy == NULL)
			return -ENOMEM;
		if (r->count > 0)
			memcpy(copy, r->v, r->count * sizeof(*copy));
		to->removed[kind].v = copy;
	}
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		for (unsigned edit = 0; edit < EDIT_COUNT; edit++) {
			const struct values *v = &from->communities[kind][edit];
			size_t len = (size_t)v->count * policy_community_size[kind];
			uint8_t *copy = v->given ? malloc(len + 1) : NULL;

			if (v->given && copy == NULL)
				return -ENOMEM;
			if (len > 0)
				memcpy(copy, v->v, len);
			to->communities[kind][edit].v = copy;
		}
	return 0;
}

/* The indexes of the lists of a copied policy begin at these numbers. */
struct lists_at {
	unsigned prefix, as_path, community, as_set;
};

static struct condition
condition_moved(const struct condition *from, const struct lists_at *at)
{
	struct condition c = *from;

	if (c.kind == MATCH_PREFIX_LIST || c.kind == MATCH_NEXT_HOP_LIST)
		c.list += at->prefix;
	else if (c.kind == MATCH_AS_PATH_LIST)
		c.list += at->as_path;
	else if (c.kind >= MATCH_COMMUNITY_LIST && c.kind <= MATCH_EXT_COMMUNITY_LIST)
		c.list += at->community;
	else if (c.kind == MATCH_PEER_AS || c.kind == MATCH_ORIGIN_AS || c.kind == MATCH_FIRST_AS ||
		 c.kind == MATCH_ANY_AS)
		c.list += at->as_set;
	return c;
}

int
policy_builder_copy(struct policy_builder *b, const struct policy *p, uint32_t then)
{
	const struct lists_at at = {b->p.prefix_list_count, b->p.as_path_list_count,
		b->p.community_list_count, b->p.as_set_count};
	int err = 0;

	LISTS_SHARE(b, prefix_list, p, policy_prefix_list_ref);
	LISTS_SHARE(b, as_path_list, p, policy_as_path_list_ref);
	LISTS_SHARE(b, community_list, p, policy_community_list_ref);
	LISTS_SHARE(b, as_set, p, policy_as_set_ref);
	for (unsigned i = 0; i < p->node_count && err == 0; i++) {
		const struct node *n = &p->nodes[i];

		err = add_node(b, n->seq, n->permit);
		if (err == 0) {
			last_node(b)->report = n->report;
			last_node(b)->place = n->place;
			last_node(b)->jump = n->jump;
			last_node(b)->groups = n->groups;
		}
		for (unsigned k = 0; k < n->count && err == 0; k++) {
			const struct condition c = condition_moved(&n->conditions[k], &at);

			err = insert_condition(b, &c);
		}
		if (err == 0)
			err = set_copy(last_set(b), &p->sets[n->set]);
		if (err == 0 && n->goto_seq != 0)
			policy_builder_goto(b, n->goto_seq);
		else if (err == 0 && n->permit && then != 0)
			policy_builder_goto(b, then);
	}
	return err;
}

int
policy_builder_last(struct policy_builder *b)
{
	int err = add_node(b, POLICY_NODE_LAST, true);

	b->p.last = b->p.node_count - 1;
	return err;
}

int
policy_builder_remove_patterns(struct policy_builder *b, enum policy_communities kind,
	const struct community_pattern *patterns, unsigned count)
{
	struct patterns *p = &last_set(b)->removed[kind];
	struct community_pattern *copy = malloc((count + 1) * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, patterns, count * sizeof(*copy));
	free(p->v);
	*p = (struct patterns){copy, count};
	last_set(b)->what |= SET_COMMUNITIES;
	return 0;
}

static bool
set_is_empty(const struct set *s)
{
	return s->what == 0 && s->prepend_count == 0;
}

static bool
set_equal(const struct set *a, const struct set *b)
{
	if (a->what != b->what || a->local_pref != b->local_pref || a->med != b->med ||
		a->tag != b->tag || a->origin != b->origin ||
		!addr_equal(&a->next_hop, &b->next_hop) || a->prepend_asn != b->prepend_asn ||
		a->prepend_count != b->prepend_count || a->prepend_first != b->prepend_first ||
		a->next_hop_kind != b->next_hop_kind ||
		a->local_pref_relative != b->local_pref_relative ||
		a->local_pref_change != b->local_pref_change ||
		a->med_relative != b->med_relative || a->med_change != b->med_change)
		return false;
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++) {
		const struct patterns *v = &a->removed[kind], *w = &b->removed[kind];
		if (v->count != w->count ||
			(v->count && memcmp(v->v, w->v, v->count * sizeof(*v->v)) != 0))
			return false;
	}
	for (unsigned kind = 0; kind < COMMUNITIES_KINDS; kind++)
		for (unsigned edit = 0; edit < EDIT_COUNT; edit++) {
			const struct values *v = &a->communities[kind][edit],
					    *w = &b->communities[kind][edit];
			if (v->given != w->given || v->count != w->count ||
				(v->count &&
					memcmp(v->v, w->v,
						(size_t)v->count * policy_community_size[kind])))
				return false;
		}
	return true;
}

/*
 * Merges equal sets. Empty sets and sets of deny nodes get number 0; numbers ascend in the order
 * of nodes.
 */
static void
share_sets(struct policy *p)
{
	unsigned kept = 1;

	for (unsigned n = 0; n < p->node_count; n++) {
		struct set *s = &p->sets[p->nodes[n].set];
		unsigned same = 0;
		if (p->nodes[n].permit && !set_is_empty(s))
			for (same = 1; same < kept && !set_equal(&p->sets[same], s); same++)
				;
		if (same == kept) {
			struct set moved = *s;
			*s = (struct set){0};
			p->sets[kept++] = moved;
		} else {
			set_fini(s);
			*s = (struct set){0};
		}
		p->nodes[n].set = same;
	}
	p->set_count = kept;
}

static int
resolve_gotos(struct policy *p)
{
	for (unsigned n = 0; n < p->node_count; n++) {
		if (!p->nodes[n].goto_seq)
			continue;
		unsigned target = n + 1;
		while (target < p->node_count && p->nodes[target].seq != p->nodes[n].goto_seq)
			target++;
		if (target == p->node_count)
			return -ENOENT;
		p->nodes[n].goto_index = target;
	}
	return 0;
}

/* Finds or creates the outcome. Returns 0 or -E2BIG. */
static int
step_number(struct policy *p, unsigned before, unsigned set, unsigned *out)
{
	unsigned i = set ? 1 : before;

	for (; set && i < p->step_count; i++)
		if (p->steps[i].before == before && p->steps[i].set == set)
			break;
	if (set && i == p->step_count) {
		if (i == POLICY_OUTCOMES_MAX)
			return -E2BIG;
		p->steps[p->step_count++] = (struct policy_step){before, set};
	}
	*out = i;
	return 0;
}

/*
 * Numbers all outcomes permanently, so callers can keep results between runs. arrives[n]: outcomes
 * (bits) with which a walk can reach node n.
 */
static int
number_outcomes(struct policy *p)
{
	uint64_t *arrives = calloc((size_t)p->node_count + 1, sizeof(*arrives));
	unsigned outcome;
	int err = arrives ? 0 : -ENOMEM;

	static_assert(POLICY_OUTCOMES_MAX <= 64, "a bit each");
	p->step_count = 1;
	if (!err)
		arrives[0] = 1;
	for (unsigned n = 0; n < p->node_count && !err; n++) {
		const struct node *node = &p->nodes[n];
		arrives[n + 1] |= arrives[n];
		for (unsigned before = 0; before < POLICY_OUTCOMES_MAX && !err; before++) {
			if (!(arrives[n] >> before & 1) || !node->permit)
				continue;
			err = step_number(p, before, node->set, &outcome);
			if (!err && node->goto_index)
				arrives[node->goto_index] |= 1ull << outcome;
		}
	}
	free(arrives);
	return err;
}

/* Assigns a bit to each node with a goto and a set. */
static void
key_outcomes(struct policy *p)
{
	unsigned bits = 0;

	p->many = true;
	p->step_count = 1;
	for (unsigned n = 0; n < p->node_count; n++) {
		struct node *node = &p->nodes[n];

		if (node->permit && node->set != 0 && node->goto_index != 0)
			node->bit = bits++;
	}
	p->keyed = bits <= POLICY_KEY_BITS && p->set_count <= POLICY_KEY_SETS;
}

/* With more lists, a check per prefix pays only for sets that match some node. */
#define FEW_NODES 8

static bool
asks_few_prefixes(const struct policy *p)
{
	unsigned permits = 0;

	for (unsigned i = 0; i < p->node_count; i++) {
		permits += p->nodes[i].permit;
		if (p->nodes[i].permit && !p->nodes[i].jump && p->nodes[i].prefix_lists == 0)
			return false;
	}
	return permits <= FEW_NODES;
}

static void
find_single_communities(struct policy *p)
{
	for (unsigned i = 0; i < p->node_count; i++)
		for (unsigned k = 0; k < p->nodes[i].count; k++) {
			struct condition *c = &p->nodes[i].conditions[k];

			if (c->kind == MATCH_COMMUNITY_LIST)
				c->one = policy_community_list_is_one(
					p->community_lists[c->list], &c->community);
		}
}

int
policy_builder_finish(struct policy_builder *b, struct policy **out)
{
	int err = resolve_gotos(&b->p);

	if (err)
		return err;
	share_sets(&b->p);
	err = number_outcomes(&b->p);
	if (err == -E2BIG)
		key_outcomes(&b->p);
	else if (err)
		return err;
	b->p.few_prefixes = asks_few_prefixes(&b->p);
	find_single_communities(&b->p);
	static_assert(offsetof(struct policy_builder, p) == 0, "policy_destroy relies on it");
	*out = &b->p;
	return 0;
}
