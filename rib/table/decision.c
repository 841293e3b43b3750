/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/decision.h"

#include "rib/table/inspect.h"

#define LOCAL_PREF_DEFAULT 100u

static int
lower_wins(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static uint32_t
local_pref(const struct attr_set *a)
{
	return a->has & ATTR_HAS_LOCAL_PREF ? a->local_pref : LOCAL_PREF_DEFAULT;
}

/* RFC 4271 9.1.2.2 c: a route without MED has the lowest possible MED. */
static uint32_t
med(const struct attr_set *a)
{
	return a->has & ATTR_HAS_MED ? a->med : 0;
}

/* RFC 4456 9 */
static uint32_t
router_id(const struct decision_input *in)
{
	return in->attrs->has & ATTR_HAS_ORIGINATOR_ID ? in->attrs->originator_id : in->router_id;
}

/*
 * RFC 4271 9.1.2.2 c: an empty path was originated in the local AS, so empty paths are neighbours
 * of each other. A path that starts with a set has no neighbour AS and is compared with no other
 * path. Symmetric and transitive, as grouping requires.
 */
static bool
same_neighbour(const struct attr_set *a, const struct attr_set *b)
{
	if (a->first_asn != b->first_asn)
		return false;
	return a->first_asn != 0 || (a->as_path_len == 0 && b->as_path_len == 0);
}

/* RFC 4271 9.1.2.2 d and e. */
static int
compare_distance(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason)
{
	*reason = DECISION_EXTERNAL;
	if (a->external != b->external)
		return a->external ? -1 : 1;
	*reason = DECISION_IGP_METRIC;
	return lower_wins(a->igp_metric, b->igp_metric);
}

/* RFC 4271 9.1.2.2 d to g, with RFC 4456 9 between f and g. */
static int
compare_tail(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason)
{
	int c = compare_distance(a, b, reason);

	if (c != 0)
		return c;
	*reason = DECISION_ROUTER_ID;
	c = lower_wins(router_id(a), router_id(b));
	if (c != 0)
		return c;
	*reason = DECISION_CLUSTER_LENGTH;
	c = lower_wins(a->attrs->cluster_count, b->attrs->cluster_count);
	if (c != 0)
		return c;
	*reason = DECISION_PEER_ADDRESS;
	c = addr_compare(&a->peer_addr, &b->peer_addr);
	if (c != 0)
		return c;
	*reason = DECISION_PATH_ID;
	if (a->rd != b->rd)
		return a->rd < b->rd ? -1 : 1;
	c = lower_wins(a->path_id, b->path_id);
	if (c == 0)
		*reason = DECISION_EQUAL;
	return c;
}

/* 9.1.2.1, and 9.1.2.2 a and b: steps whose result does not depend on the remaining paths. */
static int
compare_head(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason)
{
	int c;

	*reason = DECISION_NEXT_HOP_UNREACHABLE; /* RFC 4271 9.1.2.1 */
	if (a->eligible != b->eligible)
		return a->eligible ? -1 : 1;
	if ((a->refused != DECISION_EQUAL) != (b->refused != DECISION_EQUAL)) {
		*reason = a->refused != DECISION_EQUAL ? a->refused : b->refused;
		return a->refused != DECISION_EQUAL ? 1 : -1;
	}
	*reason = DECISION_PREFERENCE;
	if (a->local != b->local)
		return a->local ? -1 : 1;
	/* RFC 9494 4.3: a stale path is used only without another, whatever a policy prefers */
	*reason = DECISION_LLGR_STALE;
	c = lower_wins(a->attrs->has & ATTR_LLGR_STALE, b->attrs->has & ATTR_LLGR_STALE);
	if (c != 0)
		return c;
	*reason = DECISION_LOCAL_PREF;
	c = lower_wins(local_pref(b->attrs), local_pref(a->attrs));
	if (c != 0)
		return c;
	*reason = DECISION_AS_PATH_LENGTH;
	c = lower_wins(a->attrs->as_path_hops, b->attrs->as_path_hops);
	if (c != 0)
		return c;
	*reason = DECISION_ORIGIN;
	return lower_wins(a->attrs->origin, b->attrs->origin);
}

static int
compare(const struct decision_input *a, const struct decision_input *b, bool with_med,
	enum decision_reason *reason)
{
	int c = compare_head(a, b, reason);

	if (c != 0)
		return c;
	if (with_med) {
		*reason = DECISION_MED;
		c = lower_wins(med(a->attrs), med(b->attrs));
		if (c != 0)
			return c;
	}
	return compare_tail(a, b, reason);
}

int
decision_compare(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason)
{
	return compare(a, b, same_neighbour(a->attrs, b->attrs), reason);
}

/* ---- one path beside ranked paths ---- */

const struct attr_set decision_any_attrs;

/*
 * The key from the top: 2 bits for decision_key(), 1 LLGR_STALE, 17 local-pref, 8 AS hops, 2
 * origin, DECISION_KEY_RARE, 1.
 */
#define KEY_LLGR_STALE (1u << 29)
#define KEY_PREF_MAX 0x1ffffu
#define KEY_HOPS_MAX 0xffu

uint32_t
decision_attr_key(const struct attr_set *a)
{
	uint32_t pref = local_pref(a), hops = a->as_path_hops, key = 1;

	if ((a->has & ATTR_HAS_ORIGINATOR_ID) || a->cluster_count > 0)
		key |= DECISION_KEY_RARE;
	if (a->has & ATTR_LLGR_STALE)
		key |= KEY_LLGR_STALE;
	/* behind a field at its limit the key says nothing */
	if (pref >= KEY_PREF_MAX)
		return key | DECISION_KEY_RARE;
	key |= (KEY_PREF_MAX - pref) << 12;
	if (hops >= KEY_HOPS_MAX)
		return key | KEY_HOPS_MAX << 4 | DECISION_KEY_RARE;
	return key | hops << 4 | (uint32_t)a->origin << 2;
}

bool
decision_before(const struct decision_input *a, const struct decision_input *b)
{
	enum decision_reason unused;

	return compare(a, b, false, &unused) < 0;
}

bool
decision_med_differs(const struct attr_set *a, const struct attr_set *b)
{
	return same_neighbour(a, b) && med(a) != med(b);
}

bool
decision_equal_cost(const struct decision_input *a, const struct decision_input *b)
{
	enum decision_reason unused;

	return compare_head(a, b, &unused) == 0 && compare_distance(a, b, &unused) == 0;
}

/* ---- ranking ---- */

/* Order over indices. Ties go to the lower index, so every sort gives the same result. */
typedef bool before_fn(const struct decision_input *in, unsigned a, unsigned b);

/* Order across groups, without MED. A total order. */
static bool
before_across(const struct decision_input *in, unsigned a, unsigned b)
{
	enum decision_reason unused;
	int c = compare(&in[a], &in[b], false, &unused);

	return c != 0 ? c < 0 : a < b;
}

/*
 * Order by group (neighbour AS; paths that start with a set are single, at the end of group 0),
 * then by rank.
 */
static bool
before_grouped(const struct decision_input *in, unsigned a, unsigned b)
{
	const struct attr_set *x = in[a].attrs, *y = in[b].attrs;
	enum decision_reason unused;
	int c;

	if (x->first_asn != y->first_asn)
		return x->first_asn < y->first_asn;
	if (x->first_asn == 0 && (x->as_path_len == 0) != (y->as_path_len == 0))
		return x->as_path_len == 0;
	c = compare(&in[a], &in[b], same_neighbour(x, y), &unused);
	return c != 0 ? c < 0 : a < b;
}

/* Sorted paths, linked by `next`. */
struct run {
	unsigned first, last, count;
};

/* Joins two runs; the rest of the longer one is not read. */
static struct run
merge(struct decision_input *in, struct run a, struct run b, before_fn *before)
{
	struct run all = {.last = a.last, .count = a.count + b.count};
	unsigned *at = &all.first;

	while (a.count > 0 && b.count > 0) {
		struct run *least = before(in, b.first, a.first) ? &b : &a;

		*at = least->first;
		at = &in[*at].next;
		least->first = *at;
		least->count--;
	}
	*at = a.count > 0 ? a.first : b.first;
	if (b.count > 0)
		all.last = b.last;
	return all;
}

/*
 * Sorts in place without recursion and allocation: few paths (the usual case) by insertion, many by
 * a merge of the sorted runs that are there. Paths of a crowded destination come in their former
 * order with the changed ones behind, so most changes cost a comparison for each path.
 */
static void
sort(struct decision_input *in, unsigned *order, unsigned n, before_fn *before)
{
	struct run stack[32]; /* each less than half of the one below */
	unsigned runs = 0;

	if (n <= 16) {
		for (unsigned i = 1; i < n; i++) {
			unsigned x = order[i], j = i;

			for (; j > 0 && before(in, x, order[j - 1]); j--)
				order[j] = order[j - 1];
			order[j] = x;
		}
		return;
	}
	for (unsigned i = 0; i < n;) {
		struct run r = {.first = order[i], .last = order[i], .count = 1};

		for (i++; i < n && before(in, r.last, order[i]); i++) {
			in[r.last].next = order[i];
			r.last = order[i];
			r.count++;
		}
		while (runs > 0 && (i == n || stack[runs - 1].count <= 2 * r.count))
			r = merge(in, stack[--runs], r, before);
		stack[runs++] = r;
	}
	for (unsigned i = 0, at = stack[0].first; i < n; i++, at = in[at].next)
		order[i] = at;
}

/* False: all MEDs are equal, so MED never decides. */
static bool
meds_differ(const struct decision_input *in, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (med(in[i].attrs) != med(in[0].attrs))
			return true;
	return false;
}

/*
 * `order` is grouped. False: no group has different MEDs, so the comparison without MED is a total
 * order with the same result.
 */
static bool
med_matters(const struct decision_input *in, const unsigned *order, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		const struct attr_set *a = in[order[i - 1]].attrs, *b = in[order[i]].attrs;

		if (same_neighbour(a, b) && med(a) != med(b))
			return true;
	}
	return false;
}

/* Order by the worst path up to and with a path in its group, then by the place in the group. */
static bool
before_merged(const struct decision_input *in, unsigned a, unsigned b)
{
	if (in[a].worst != in[b].worst)
		return before_across(in, in[a].worst, in[b].worst);
	return in[a].place < in[b].place;
}

/*
 * Step c: a path is removed if an earlier path of the same neighbour AS has a lower MED. The first
 * path of a group has the lowest MED of all paths equal to it in a and b. `order` is grouped. Own
 * routes come first in their group: own_routes_place() may move them behind the routes of peers.
 */
static void
beaten_mark(struct decision_input *in, const unsigned *order, unsigned n)
{
	for (unsigned i = 1, first = 0; i < n; i++) {
		struct decision_input *p = &in[order[i]];

		if (!same_neighbour(in[order[i - 1]].attrs, p->attrs) ||
			in[order[first]].local != p->local)
			first = i;
		p->beaten = first < i && med(in[order[first]].attrs) < med(p->attrs);
	}
}

/*
 * `order` is grouped. The best of the groups' heads comes first, then the best of the heads of what
 * is left. A path waits for the paths before it in its group, and then precedes all that the worst
 * of these has preceded: so one sort gives the order, whatever the number of groups.
 */
static void
merge_groups(struct decision_input *in, unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct decision_input *p = &in[order[i]];
		const struct decision_input *last = i > 0 ? &in[order[i - 1]] : NULL;

		p->place = i;
		p->worst = order[i];
		if (last != NULL && same_neighbour(last->attrs, p->attrs) &&
			before_across(in, order[i], last->worst))
			p->worst = last->worst;
	}
	sort(in, order, n, before_merged);
}

/* ---- multipath ---- */

static bool
next_hop_among(const struct decision_input *in, const unsigned *order, unsigned n,
	const struct attr_set *a)
{
	for (unsigned i = 0; i < n; i++)
		if (addr_equal(attr_next_hop(in[order[i]].attrs), attr_next_hop(a)))
			return true;
	return false;
}

unsigned
decision_multipath(const struct decision_input *in, unsigned n, unsigned *order, unsigned max_paths)
{
	const struct decision_input *best;
	enum decision_reason unused;
	unsigned taken = 1;

	if (n == 0 || !in[order[0]].eligible)
		return 0;
	best = &in[order[0]];
	if (best->local)
		return 1;
	for (unsigned i = 1; i < n && taken < max_paths; i++) {
		const struct decision_input *p = &in[order[i]];
		unsigned index = order[i];

		/*
		 * paths equal in a and b are adjacent in the ranking, so a difference ends the
		 * search
		 */
		if (compare_head(best, p, &unused) != 0)
			break;
		if (compare_distance(best, p, &unused) != 0 ||
			next_hop_among(in, order, taken, p->attrs) || p->beaten)
			continue;
		__builtin_memmove(&order[taken + 1], &order[taken], (i - taken) * sizeof(*order));
		order[taken++] = index;
	}
	return taken;
}

/* ---- reasons ---- */

/*
 * A path that would win against the best in a direct comparison was beaten by the head of its own
 * group, which is possible only by MED.
 */
static enum decision_reason
losing_reason(const struct decision_input *best, const struct decision_input *in)
{
	enum decision_reason reason;

	if (in->refused != DECISION_EQUAL)
		return in->refused;
	if (!in->eligible)
		return DECISION_NEXT_HOP_UNREACHABLE;
	if (in->local != best->local)
		return DECISION_PREFERENCE;
	if (decision_compare(best, in, &reason) > 0)
		return in->after_external || in->after_internal ? DECISION_PREFERENCE
								: DECISION_MED;
	return reason;
}

static void
explain(const struct decision_input *in, unsigned n, unsigned best, enum decision_reason *reason)
{
	for (unsigned i = 0; i < n; i++)
		reason[i] = i == best && in[i].eligible ? DECISION_EQUAL
							: losing_reason(&in[best], &in[i]);
}

/*
 * Moves routes of this router behind the usable routes of peers, if the best of these has the better
 * preference. The order of the routes of peers stays: preference is a rule between sources, and no
 * step between two routes of peers.
 */
static void
own_routes_place(const struct decision_input *in, unsigned n, unsigned *order)
{
	unsigned own = 0, usable, kept = 0, external;

	while (own < n && in[order[own]].eligible && in[order[own]].local)
		own++;
	for (usable = own; usable < n && in[order[usable]].eligible;)
		usable++;
	if (own == 0 || own == usable)
		return;
	external = in[order[own]].external;
	for (unsigned i = own; i-- > 0;) {
		unsigned at = order[i];

		if (!(external ? in[at].after_external : in[at].after_internal))
			continue;
		/* the last of `own` goes first, so that the order among these stays */
		__builtin_memmove(
			&order[i], &order[i + 1], (usable - kept - i - 1) * sizeof(*order));
		order[usable - ++kept] = at;
	}
}

void
decision_order(struct decision_input *in, unsigned n, unsigned *order, enum decision_reason *reason)
{
	enum decision_reason unused;

	for (unsigned i = 0; i < n; i++) {
		order[i] = i;
		in[i].beaten = false;
	}
	if (n == 2) {
		if (decision_compare(&in[0], &in[1], &unused) > 0) {
			order[0] = 1;
			order[1] = 0;
		}
		beaten_mark(in, order, n);
	} else if (n > 2) {
		bool with_med = meds_differ(in, n);

		if (with_med)
			sort(in, order, n, before_grouped);
		if (with_med && med_matters(in, order, n)) {
			beaten_mark(in, order, n);
			merge_groups(in, order, n);
		} else {
			sort(in, order, n, before_across);
		}
	}
	own_routes_place(in, n, order);
	if (reason != NULL && n > 0)
		explain(in, n, order[0], reason);
}

const char *
decision_reason_text(enum decision_reason r)
{
	static const char *const text[] = {
		[DECISION_EQUAL] = "equal",
		[DECISION_LLGR_STALE] = "llgr-stale",
		[DECISION_LOCAL_PREF] = "local-pref",
		[DECISION_AS_PATH_LENGTH] = "as-path-length",
		[DECISION_ORIGIN] = "origin",
		[DECISION_MED] = "med",
		[DECISION_EXTERNAL] = "external",
		[DECISION_IGP_METRIC] = "igp-metric",
		[DECISION_ROUTER_ID] = "router-id",
		[DECISION_CLUSTER_LENGTH] = "cluster-length",
		[DECISION_PEER_ADDRESS] = "peer-address",
		[DECISION_PATH_ID] = "path-id",
		[DECISION_NEXT_HOP_UNREACHABLE] = "next-hop-unreachable",
		[DECISION_AS_LOOP] = "as-loop",
		[DECISION_ORIGINATOR_LOOP] = "originator-loop",
		[DECISION_CLUSTER_LOOP] = "cluster-loop",
		[DECISION_REJECTED_BY_POLICY] = "rejected-by-policy",
		[DECISION_NO_POLICY] = "no-policy",
		[DECISION_PREFERENCE] = "preference",
	};

	if ((size_t)r >= sizeof(text) / sizeof(text[0]))
		return "unknown";
	return text[r];
}
