/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of changes (rib/shard/history.h): the event of each added, changed or removed path. */
#include "rib/shard/shard_impl.h"

/* More paths of one change are not recorded: a walk may remove hundreds. */
#define HISTORY_PATHS 16u

static bool
is_edited(const struct rib_path *p, const struct shard_edit *e)
{
	return e != NULL && is_of(p, e->peer, e->path_id);
}

/* A path that is gone; `doomed`: by a sweep. */
static enum history_event
gone_event(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	const struct shard_edit *e, bool doomed)
{
	const struct shard_rib_in *r = rib_of(s, t, p);

	if (is_edited(p, e) ||
		(is_imported(p) && !doomed)) /* imported paths change by edits alone */
		return s->refusing != REFUSED_NOT ? HISTORY_REFUSED : HISTORY_WITHDRAWN;
	if (doomed && shard_epoch_before(atomic_load_explicit(&p->epoch, memory_order_relaxed),
			      r->flush_below))
		return HISTORY_SESSION_LOST;
	/* an aged path with NO_LLGR (RFC 9494), or a path that policy refuses from now on */
	return doomed || r->long_lived ? HISTORY_STALE : HISTORY_REEVALUATED;
}

/* A path that changed. HISTORY_EVENTS: only in marks that no operator sees. */
static enum history_event
changed_event(const struct rib_path *was, const struct rib_path *now, const struct shard_edit *e)
{
	const uint32_t up = PATH_NEXT_HOP_UP;
	bool edited = is_edited(now, e) || (is_imported(now) && was->accepted.v != now->accepted.v);

	if (is_refused(now) || ((now->label_flags & ~was->label_flags) & PATH_HELD) != 0)
		return edited || !is_refused(was) ? HISTORY_REFUSED : HISTORY_EVENTS;
	if (edited)
		return is_refused(was) ? HISTORY_ANNOUNCED : HISTORY_REPLACED;
	if (was->accepted.v != now->accepted.v)
		return HISTORY_REEVALUATED;
	if (((was->label_flags ^ now->label_flags) & up) == 0)
		return HISTORY_EVENTS;
	return now->label_flags & up ? HISTORY_NEXT_HOP_UP : HISTORY_NEXT_HOP_DOWN;
}

/* The cause of a refusal, and the policy of the peer. */
static void
refusal_add(const struct shard *s, const struct shard_table *t, const struct rib_path *p,
	struct history_change *c)
{
	if (c->event == HISTORY_REFUSED) {
		c->cause = s->refusing != REFUSED_NOT ? s->refusing
			   : is_refused(p)	      ? refused_of(flags_refused(p->label_flags))
						      : REFUSED_POLICY;
		c->node = s->refusing != REFUSED_NOT ? s->refusing_node : 0;
	}
	if (c->cause == REFUSED_POLICY || c->event == HISTORY_REEVALUATED)
		c->policy = rib_of(s, t, p)->import_name;
}

static struct attr_id
set_of(const struct rib_path *p)
{
	return p->accepted.v != 0 ? p->accepted : p->received;
}

/* A change with the view of its destination, in the order of records. */
struct noting {
	struct shard *s;
	const struct shard_table *t;
	const struct shard_best *best;
	struct history_change pending; /* written when the next one comes, or as the last */
	bool any;
	unsigned count;
	struct dest_view view; /* the last member: it ends in an array */
};

static void
flush(struct noting *n, bool last) RUNS_ON(role_rib)
{
	struct history_change *c = &n->pending;

	if (!n->any)
		return;
	/* the last record of a change has the best path */
	c->before = n->best->before;
	c->after = last ? n->best->after : n->best->before;
	c->moved = last && n->best->moved;
	c->reason = c->moved ? n->best->reason : DECISION_EQUAL;
	history_put(n->s->history, n->t->vrf, n->t->family, n->view.rd, &n->view.prefix,
		n->s->bulk & BULK_TABLE, c);
	n->any = false;
}

/* `was`, `now`: one may be NULL. */
static void
note(struct noting *n, enum history_event event, const struct rib_path *was,
	const struct rib_path *now) RUNS_ON(role_rib)
{
	const struct rib_path *p = now != NULL ? now : was;
	struct history_change *c = &n->pending;

	if (event == HISTORY_EVENTS || n->count == HISTORY_PATHS)
		return;
	n->count++;
	flush(n, false);
	n->any = true;
	*c = (struct history_change){.event = event,
		.time_ms = n->s->now_ns / 1000000u,
		.peer = p->peer,
		.path_id = p->path_id};
	refusal_add(n->s, n->t, p, c);
	if (now != NULL) {
		c->set = set_of(now);
		c->serial = attr_serial(n->s->attrs, c->set);
	}
	if (was != NULL) {
		c->old_set = set_of(was);
		c->old_serial = attr_serial(n->s->attrs, c->old_set);
		c->since_s = was->time_s;
	}
}

bool
history_budget(struct shard *s)
{
	if (s->now_ns >= s->history_until_ns) {
		s->history_until_ns = s->now_ns + HISTORY_BULK_S * UINT64_C(1000000000);
		s->history_left = HISTORY_BULK;
	}
	if (s->history_left == 0) {
		history_skip(s->history, s->now_ns / 1000000u);
		return false;
	}
	s->history_left--;
	return true;
}

void
history_changed(struct shard *s, const struct shard_table *t, struct dest_id id,
	const struct shard_edit *e, const struct shard_change *c)
{
	struct noting n = {.s = s, .t = t, .best = &c->best};
	unsigned k = 0;

	if (!dest_peek_best(t->dests, id, &n.view))
		return;
	/* both lists are in the order of the changes: a changed path is in both */
	for (unsigned i = 0; i < c->drop && n.count < HISTORY_PATHS; i++) {
		const struct rib_path *was = &s->drop[i];

		if (i >= c->doomed && k + 1 < c->take &&
			!is_of(was, s->take[k].peer, s->take[k].path_id) &&
			is_of(was, s->take[k + 1].peer, s->take[k + 1].path_id)) {
			note(&n, is_refused(&s->take[k]) ? HISTORY_REFUSED : HISTORY_ANNOUNCED,
				NULL, &s->take[k]);
			k++;
		}
		if (i >= c->doomed && k < c->take &&
			is_of(was, s->take[k].peer, s->take[k].path_id)) {
			note(&n, changed_event(was, &s->take[k], e), was, &s->take[k]);
			k++;
		} else {
			note(&n, gone_event(s, t, was, e, i < c->doomed), was, NULL);
		}
	}
	for (; k < c->take && n.count < HISTORY_PATHS; k++)
		note(&n, is_refused(&s->take[k]) ? HISTORY_REFUSED : HISTORY_ANNOUNCED, NULL,
			&s->take[k]);
	if (n.count == 0 && c->best.moved) {
		n.any = true;
		n.pending = (struct history_change){.event = HISTORY_RANKED,
			.time_ms = s->now_ns / 1000000u,
			.peer = c->best.after.v != PEER_MAX ? c->best.after : c->best.before};
	}
	flush(&n, true);
}

unsigned
shard_history_find(const struct shard *s, struct vrf_id vrf, enum family family, struct vpn_rd rd,
	const struct prefix *p, struct history_change *out, uint64_t since_ms[2])
{
	return history_find(s->history, vrf, family, rd, p, out, since_ms);
}

int
shard_history_longest(const struct shard *s, struct vrf_id vrf, enum family family,
	struct vpn_rd rd, const struct ip_addr *a)
{
	return history_longest(s->history, vrf, family, rd, a);
}

const char *
shard_history_policy(const struct shard *s, uint16_t policy)
{
	return history_policy_name(s->history, policy);
}
