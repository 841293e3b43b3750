/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/fib_feed.h"
#include "rib/fib_feed_impl.h"

#include "lpm/arena.h"

#include <errno.h>
#include <string.h>

#define READ_MAX 256 /* journal entries between two looks at the clock */
#define READERS_RETRY_NS                                                                           \
	50000 /* a worker reports quiescent every few microseconds; a preempted one after some ms */
#define FAILED_RETRY_NS 1000000000u /* a walk over all: not often */

static struct hop **
hop_bucket(struct fib_feed *f, const struct ip_addr *addr, uint16_t port)
{
	struct prefix p = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));

	return &f->hops[(prefix_hash(&p) + port) % HOP_BUCKETS];
}

static struct hop *
hop_find(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	struct hop *h = *hop_bucket(f, addr, port);

	while (h != NULL && (h->vrf.v != vrf.v || h->port != port || !addr_equal(&h->addr, addr)))
		h = h->next;
	return h;
}

/* Find or create. NULL: out of memory or of ids. */
static struct hop *
RUNS_ON(role_fib)
	hop_get(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	struct hop *h = hop_find(f, vrf, addr, port), **bucket;
	struct path path;

	if (h != NULL)
		return h;
	h = arena_calloc(f->config.arena, sizeof(*h));
	if (h == NULL)
		return NULL;
	if (next_hop_get(f->path_lists, vrf, addr, port, &h->next_hop) != 0)
		goto fail;
	path = (struct path){.next_hop = h->next_hop, .label = LABEL_NONE};
	if (path_list_get(f->path_lists, PATH_LIST_FORWARD, PORT_NONE, &path, 1, &h->list) != 0)
		goto fail_list;
	h->vrf = vrf;
	h->port = port;
	h->addr = *addr;
	bucket = hop_bucket(f, addr, port);
	h->next = *bucket;
	*bucket = h;
	return h;

fail_list:
	next_hop_unref(f->path_lists, h->next_hop);
fail:
	arena_free(f->config.arena, h);
	return NULL;
}

static void
RUNS_ON(role_fib) hop_drop(struct fib_feed *f, struct hop *h)
{
	struct hop **at = hop_bucket(f, &h->addr, h->port);

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	path_list_unref(f->path_lists, h->list);
	next_hop_unref(f->path_lists, h->next_hop);
	arena_free(f->config.arena, h);
}

static unsigned
local_rank(const struct local_route *l)
{
	return l->kind == PATH_LIST_PUNT ? 2 : l->kind == PATH_LIST_FORWARD ? 1 : 0;
}

struct local_route *
fib_feed_local_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct local_route *best = NULL;

	if (f->local_lens[p->len] == 0)
		return NULL;
	/* newest first */
	for (struct local_route *l = f->locals[prefix_hash(p) % LOCAL_BUCKETS]; l != NULL;
		l = l->next) {
		if (l->vrf.v != vrf.v || !prefix_equal(&l->prefix, p))
			continue;
		if (best == NULL || local_rank(l) > local_rank(best) ||
			(l->kind == PATH_LIST_GLEAN && best->kind == PATH_LIST_GLEAN))
			best = l;
	}
	return best;
}

static void
failed(struct fib_feed *f)
{
	atomic_fetch_add_explicit(&f->failed, 1, memory_order_relaxed);
	if (f->retry_due_ns == 0)
		f->retry_due_ns = f->work_ns + FAILED_RETRY_NS;
}

static void
RUNS_ON(role_fib)
	set(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
{
	int err = fib_set(f->config.fib, vrf, p, list);

	if (err != 0 && err != -ENOENT) /* a family that is not forwarded in this VRF */
		failed(f);
}

static void
RUNS_ON(role_fib) withdraw(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	if (fib_withdraw(f->config.fib, vrf, p) == -ENOMEM) /* -ENOENT: it never was there */
		failed(f);
}

/* The list by which packets reach `addr` on `port`. False: there are no ids left. */
static bool
RUNS_ON(role_fib) list_by(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t port, struct path_list_id *out)
{
	struct hop *h = hop_get(f, vrf, addr, port);

	if (h == NULL)
		return false;
	if (!h->wanted) {
		h->wanted = true;
		f->config.resolve(f->config.resolve_ctx, port, addr, true);
	}
	*out = h->list;
	return true;
}

enum feed_want
fib_feed_want(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct path_list_id *out)
{
	bool later = false;

	out->v = PATH_LIST_NONE;
	for (unsigned i = 0; view->paths != NULL && i < view->paths->eligible; i++) {
		const struct rib_path *path = &view->paths->path[i];
		const struct attr_set *attrs;
		const struct ip_addr *addr;
		uint16_t port;

		if (path->peer.v == PEER_SELF.v)
			break;
		attrs = attr_get(shard_attrs(s->shard), path->accepted);
		if (attrs == NULL)
			break;
		addr = attr_next_hop(attrs);
		if (nexthop_port(f->config.nexthops, vrf, addr, &port) == 0) {
			if (list_by(f, vrf, addr, port, out))
				return later ? WANT_LATER : WANT_LIST;
			failed(f);
			break;
		}
		if (!nexthop_watched(f->config.nexthops, vrf, addr))
			break; /* next hops are not tracked: this is the RIB's last word */
		later = true;
	}
	return later ? WANT_LATER : WANT_NOTHING;
}

/* Puts a destination's best path into the open batch. WANT_NOTHING: a withdrawal is due (in its order). */
static enum feed_want
RUNS_ON(role_fib) apply(
	struct fib_feed *f, struct feed_source *s, struct vrf_id vrf, const struct dest_view *view)
{
	struct path_list_id list;
	enum feed_want want;

	if (fib_feed_local_find(f, vrf, &view->prefix) != NULL)
		return WANT_LIST; /* the host's own route stays, whatever the RIB has */
	want = fib_feed_want(f, s, vrf, view, &list);
	if (list.v != PATH_LIST_NONE) {
		set(f, vrf, &view->prefix, list);
	} else if (want == WANT_LATER) {
		/*
		 * The RIB has more than we can have: whatever stands in for this route is in the journal by now, and no withdrawal may
		 * come before it.
		 */
		struct dest_view newest = {
			.sequence = (uint32_t)journal_head(shard_journal(s->shard))};

		journal_passed_over(shard_journal(s->shard), s->cursor, &newest);
	}
	return want;
}

static void
walk_restart(struct feed_source *s, enum rewalk step)
{
	s->rewalk = step;
	s->rewalk_table = 0;
	s->walk = (struct walk){0};
}

/* What the RIB has of a prefix; false when it has no such destination. */
static bool
RUNS_ON(role_fib) rib_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	struct feed_source **source, struct dest_view *view)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];
		struct table_id table;
		struct dest_id id;

		if (shard_table_find(s->shard, vrf, fib_feed_family(p->afi), &table) != 0)
			continue;
		id = dest_find(shard_table(s->shard, table), p);
		if (id.v == DEST_NONE || !dest_peek(shard_table(s->shard, table), id, view))
			continue;
		*source = s;
		return true;
	}
	return false;
}

static bool
settled(const struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		if (f->sources[i].lapped || !journal_settled(f->sources[i].cursor))
			return false;
	}
	return true;
}

/* The prefixes that local routes let go of, when the time has come. */
static void
RUNS_ON(role_fib) leave(struct fib_feed *f)
{
	if (f->leaving_count == 0 || !settled(f))
		return;
	for (unsigned i = 0; i < f->leaving_count; i++) {
		const struct leaving *l = &f->leaving[i];
		struct feed_source *s;
		struct dest_view view;

		if (fib_feed_local_find(f, l->vrf, &l->prefix) != NULL)
			continue;
		if (rib_find(f, l->vrf, &l->prefix, &s, &view) &&
			(apply(f, s, l->vrf, &view) != WANT_NOTHING ||
				(int32_t)(view.sequence - (uint32_t)journal_position(s->cursor)) >
					0))
			continue; /* it is there, or its entry is still to come */
		withdraw(f, l->vrf, &l->prefix);
	}
	f->leaving_count = 0;
}

/*
 * A local route let go of a prefix: what the RIB has comes in its place. Where the RIB has nothing it may have had something
 * that our cursor has not passed, or passed without withdrawing it, as the host had the prefix: so the withdrawal waits as one of the
 * journal's would, until no other has to wait.
 */
static void
RUNS_ON(role_fib) restore(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct feed_source *s;
	struct dest_view view;

	if (rib_find(f, vrf, p, &s, &view) && apply(f, s, vrf, &view) != WANT_NOTHING)
		return;
	if (f->leaving_count == f->leaving_size) {
		unsigned size = f->leaving_size ? 2 * f->leaving_size : 16;
		struct leaving *grown =
			arena_realloc(f->config.arena, f->leaving, size * sizeof(*grown));

		if (grown == NULL) {
			withdraw(f, vrf, p);
			return;
		}
		f->leaving = grown;
		f->leaving_size = size;
	}
	f->leaving[f->leaving_count++] = (struct leaving){vrf, *p};
	leave(f);
}

static struct local_route **
local_claim(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, enum path_list_kind kind,
	uint16_t port)
{
	struct local_route **at = &f->locals[prefix_hash(p) % LOCAL_BUCKETS];

	while (*at != NULL && ((*at)->vrf.v != vrf.v || (*at)->kind != kind ||
				      (*at)->port != port || !prefix_equal(&(*at)->prefix, p)))
		at = &(*at)->next;
	return at;
}

/* `list` is taken over, but for an error. 0, -ENOMEM. */
static int
RUNS_ON(role_fib) local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port, struct path_list_id list)
{
	struct local_route *l = *local_claim(f, vrf, p, kind, port);
	struct local_route **bucket = &f->locals[prefix_hash(p) % LOCAL_BUCKETS];

	if (l != NULL) {
		l->users++;
		path_list_unref(f->path_lists, list); /* the same */
		return 0;
	}
	l = arena_alloc(f->config.arena, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	*l = (struct local_route){*bucket, vrf, *p, kind, port, list, 1};
	*bucket = l;
	f->local_lens[p->len]++;
	set(f, vrf, p, fib_feed_local_find(f, vrf, p)->list);
	return 0;
}

static void
RUNS_ON(role_fib) local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port)
{
	struct local_route **at = local_claim(f, vrf, p, kind, port), *l = *at;

	if (l == NULL || --l->users > 0)
		return;
	*at = l->next;
	f->local_lens[p->len]--;
	path_list_unref(f->path_lists, l->list);
	arena_free(f->config.arena, l);
	l = fib_feed_local_find(f, vrf, p);
	if (l != NULL)
		set(f, vrf, p, l->list);
	else
		restore(f, vrf, p);
}

/* Ports of next hops may have changed: everything present is put in again. */
static void
rewalk_all(struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];

		s->all = true;
		walk_restart(s, REWALK_SET);
	}
}

static int
RUNS_ON(role_fib) subnet_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	enum path_list_kind kind, uint16_t port)
{
	struct path_list_id list;
	int err = path_list_get(f->path_lists, kind, port, NULL, 0, &list);

	if (err != 0)
		return err;
	err = local_add(f, vrf, p, kind, port, list);
	if (err != 0)
		path_list_unref(f->path_lists, list);
	return err;
}

/* Without a data plane the kernel's interfaces are all one. */
static bool
leads_to_port(const struct fib_feed *f, uint16_t port)
{
	return f->config.fib == NULL || port != PORT_NONE;
}

static int
RUNS_ON(role_fib) tracked(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up)
{
	struct nexthop_table *t = f->config.nexthops;
	int err, first;

	/* Our own address first and last, so that as a next hop it is not reachable for a moment. */
	if (!up) {
		if (addr_is_link_local(local))
			nexthop_zone(t, local->zone, port, false);
		else if (leads_to_port(f, port))
			nexthop_connected_remove(t, vrf, subnet, port);
		nexthop_local(t, vrf, local, false);
		return 0;
	}
	first = nexthop_local(t, vrf, local, true);
	if (addr_is_link_local(local))
		nexthop_zone(t, local->zone, port, true);
	if (addr_is_link_local(local) || !leads_to_port(f, port))
		return first;
	err = nexthop_connected_add(t, vrf, subnet, port);
	return err == 0 || err == -EEXIST ? first : err;
}

void
fib_feed_zone(struct fib_feed *f, uint16_t zone, uint16_t port)
{
	nexthop_zone(f->config.nexthops, zone, port, true);
	if (f->config.fib != NULL)
		rewalk_all(f);
}

int
fib_feed_connected(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up)
{
	struct prefix host = prefix_from_addr(local, (uint8_t)prefix_max_len(local->afi));
	bool glean = port != PORT_NONE && !addr_is_link_local(local);
	int err = tracked(f, vrf, subnet, local, port, up), more;

	if (f->config.fib == NULL)
		return err;
	if (up) {
		more = glean ? subnet_add(f, vrf, subnet, PATH_LIST_GLEAN, port) : 0;
		err = err != 0 ? err : more;
		more = subnet_add(f, vrf, &host, PATH_LIST_PUNT, PORT_NONE);
		err = err != 0 ? err : more;
	} else {
		local_remove(f, vrf, &host, PATH_LIST_PUNT, PORT_NONE);
		if (glean)
			local_remove(f, vrf, subnet, PATH_LIST_GLEAN, port);
	}
	rewalk_all(f);
	return err;
}

/* Does a route lead by this hop, beside the neighbour's own, and is it still where the route would look for it? */
static bool
RUNS_ON(role_fib)
	hop_in_use(const struct fib_feed *f, const struct hop *h, const struct prefix *host)
{
	struct path_list_id list;
	unsigned own = 1;
	uint16_t port;

	if (h->resolved)
		own += 1 +
		       (fib_shadow_get(f->config.fib, h->vrf, host, &list) && list.v == h->list.v);
	return h->wanted && path_list_refs(f->path_lists, h->list) > own &&
	       nexthop_port(f->config.nexthops, h->vrf, &h->addr, &port) == 0 && port == h->port;
}

static int
RUNS_ON(role_fib) hop_up(
	struct fib_feed *f, struct hop *h, const struct prefix *host, const struct adjacency *adj)
{
	int err = next_hop_up(f->path_lists, h->next_hop, adj);

	if (err != 0 || h->resolved)
		return err;
	if (!addr_is_link_local(&h->addr)) {
		err = local_add(f, h->vrf, host, PATH_LIST_FORWARD, h->port, h->list);
		if (err != 0)
			return err;
	}
	path_list_ref(f->path_lists, h->list); /* the route's; hop_in_use() counts on it */
	h->resolved = true;
	return 0;
}

int
fib_feed_neighbor(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	const struct adjacency *adj)
{
	struct prefix host = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
	struct hop *h;
	bool in_use;
	int err;

	if (f->config.fib == NULL)
		return 0;
	h = adj != NULL ? hop_get(f, vrf, addr, port) : hop_find(f, vrf, addr, port);
	if (h == NULL)
		return adj != NULL ? -ENOMEM : 0;
	if (adj != NULL) {
		err = hop_up(f, h, &host, adj);
		if (err != 0 && !h->wanted && !h->resolved)
			hop_drop(f, h);
		return err;
	}
	next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_UNRESOLVED);
	in_use = hop_in_use(f, h, &host);
	if (h->resolved) {
		h->resolved = false;
		if (addr_is_link_local(addr))
			path_list_unref(f->path_lists, h->list);
		else
			local_remove(f, vrf, &host, PATH_LIST_FORWARD, port);
	}
	if (in_use)
		f->config.resolve(f->config.resolve_ctx, port, addr, true);
	else
		hop_drop(f, h);
	return 0;
}

void
fib_feed_port_down(struct fib_feed *f, uint16_t port, uint64_t event_ns)
{
	(void)event_ns;
	if (f->config.fib == NULL)
		return;
	for (unsigned i = 0; i < HOP_BUCKETS; i++) {
		for (struct hop *h = f->hops[i]; h != NULL; h = h->next) {
			if (h->port == port)
				next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_DOWN);
		}
	}
}

int
fib_feed_watch(struct fib_feed *f, const struct nexthop_message *m)
{
	return nexthop_watch(f->config.nexthops, m->vrf, &m->addr);
}

/* ---- journal ---- */

static void
RUNS_ON(role_fib)
	apply_entry(struct fib_feed *f, struct feed_source *s, const struct journal_entry *e)
{
	struct dest_view view;
	struct vrf_id vrf;
	enum family family;

	shard_table_key(s->shard, e->table, &vrf, &family);
	if (!fib_feed_forwards(family) ||
		!dest_peek(shard_table(s->shard, e->table), e->dest, &view))
		return;
	if (apply(f, s, vrf, &view) == WANT_NOTHING && journal_may_withdraw(s->cursor, e, &view))
		withdraw(f, vrf, &view.prefix);
}

static void
lapped(struct feed_source *s)
{
	journal_pin(s->cursor);
	s->reach_back = journal_resume(shard_journal(s->shard), s->cursor);
	s->lapped = true;
	walk_restart(s, REWALK_SET);
}

static unsigned
batch_room(const struct fib_feed *f)
{
	unsigned count = fib_batch_count(f->config.fib);

	return count < f->config.batch_max ? f->config.batch_max - count : 0;
}

/* True while there is more. Stops at a full batch. */
static bool
RUNS_ON(role_fib) journal_drain(struct fib_feed *f, struct feed_source *s, uint64_t deadline_ns)
{
	struct journal *j = shard_journal(s->shard);
	struct journal_entry entries[READ_MAX];
	unsigned room;
	int n;

	while ((room = batch_room(f)) > 0) {
		n = journal_read(j, s->cursor, entries, room < READ_MAX ? room : READ_MAX);
		if (n == -EOVERFLOW) {
			lapped(s);
			return true;
		}
		if (n <= 0)
			return false;
		for (int i = 0; i < n; i++)
			apply_entry(f, s, &entries[i]);
		journal_advance(j, s->cursor, entries[n - 1].sequence);
		s->applied = journal_position(s->cursor);
		if (walk_clock() >= deadline_ns)
			return true;
	}
	return true;
}

struct rewalk_context {
	struct fib_feed *f;
	struct feed_source *s;
	struct vrf_id vrf;
};

/* The second walk withdraws what was empty by then; what is younger has its entry still to come. */
static void
RUNS_ON(role_fib) rewalk_empty(struct rewalk_context *c, const struct dest_view *view)
{
	struct feed_source *s = c->s;
	struct path_list_id there;

	if (s->rewalk == REWALK_EMPTIES) {
		if ((int32_t)(view->sequence - (uint32_t)s->reach_back) <= 0)
			withdraw(c->f, c->vrf, &view->prefix);
		return;
	}
	journal_passed_over(shard_journal(s->shard), s->cursor, view);
	if (!s->stranded)
		s->stranded = fib_shadow_get(c->f->config.fib, c->vrf, &view->prefix, &there);
}

static bool
RUNS_ON(role_fib) rewalk_visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct rewalk_context *c = ctx;
	bool young = (int32_t)(view->sequence - (uint32_t)c->s->reach_back) > 0;

	/* What has not changed since the place where we fell off is there already; when ports changed all is looked at. */
	if (c->s->rewalk == REWALK_SET && !c->s->all && !young)
		return true;
	if (apply(c->f, c->s, c->vrf, view) == WANT_NOTHING)
		rewalk_empty(c, view);
	return batch_room(c->f) > 0;
}

/* The next table to walk, or the next step, or the end. */
static void
rewalk_next(struct feed_source *s)
{
	s->walk = (struct walk){0};
	if (++s->rewalk_table < shard_table_count(s->shard))
		return;
	s->rewalk_table = 0;
	s->all = false;
	if (s->rewalk == REWALK_SET && (s->lapped || s->stranded)) {
		s->rewalk = REWALK_SETTLE;
		return;
	}
	s->rewalk = REWALK_NONE;
	s->stranded = false;
	if (s->lapped) {
		s->lapped = false;
		journal_unpin(s->cursor);
	}
}

static bool
RUNS_ON(role_fib) rewalk_slice(struct fib_feed *f, struct feed_source *s, uint64_t deadline_ns)
{
	struct table_id table = {(uint16_t)s->rewalk_table};
	struct rewalk_context c = {.f = f, .s = s};
	enum family family;

	if (batch_room(f) == 0)
		return true;
	if (shard_table_count(s->shard) == 0) {
		s->rewalk = REWALK_NONE;
		return false;
	}
	shard_table_key(s->shard, table, &c.vrf, &family);
	if (!fib_feed_forwards(family)) {
		rewalk_next(s);
		return true;
	}
	if (s->walk.table == NULL)
		walk_begin(&s->walk, shard_table(s->shard, table));
	if (!walk_slice(&s->walk, UINT32_MAX, deadline_ns, walk_clock, rewalk_visit, &c))
		rewalk_next(s);
	return true;
}

/* ---- commit ---- */

static void
RUNS_ON(role_fib) became_visible(struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];
		uint64_t received;

		if (s->visible == s->applied)
			continue;
		received = shard_received_ns(s->shard, s->applied);
		s->visible = s->applied;
		if (received != 0)
			hist_add(&f->update_hist, walk_clock() - received);
	}
}

/* True: again at once. */
static bool
RUNS_ON(role_fib) commit(struct fib_feed *f, uint64_t now_ns, bool more)
{
	unsigned waiting = fib_batch_count(f->config.fib);
	int err;

	f->wait_readers = false;
	if (waiting == 0 && fib_settled(f->config.fib)) {
		became_visible(f);
		return more;
	}
	/* A full batch goes at once; a smaller one waits for company until the interval since the last flip is over. */
	if (waiting > 0 && waiting < f->config.batch_max && now_ns < f->commit_due_ns)
		return more;
	err = fib_commit(f->config.fib, now_ns);
	if (err == -EAGAIN) {
		f->wait_readers = true;
		return more && waiting < f->config.batch_max;
	}
	if (waiting > 0)
		f->commit_due_ns = now_ns + f->config.commit_interval_ns;
	became_visible(f);
	return more;
}

/* What found no id or no memory is tried once more, with the ids of next hops that nothing uses any more. */
static void
RUNS_ON(role_fib) retry(struct fib_feed *f)
{
	f->retry_due_ns = 0;
	for (unsigned i = 0; i < HOP_BUCKETS; i++) {
		for (struct hop *h = f->hops[i], *next; h != NULL; h = next) {
			next = h->next;
			if (!h->resolved && path_list_refs(f->path_lists, h->list) == 1)
				hop_drop(f, h);
		}
	}
	for (unsigned i = 0; i < LOCAL_BUCKETS; i++) {
		for (const struct local_route *l = f->locals[i]; l != NULL; l = l->next)
			set(f, l->vrf, &l->prefix,
				fib_feed_local_find(f, l->vrf, &l->prefix)->list);
	}
	rewalk_all(f);
}

bool
fib_feed_work(struct fib_feed *f, uint64_t now_ns, uint64_t deadline_ns)
{
	bool more = false;

	if (f->config.fib == NULL)
		return false;
	f->work_ns = now_ns;
	if (f->retry_due_ns != 0 && now_ns >= f->retry_due_ns)
		retry(f);
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];

		if (s->rewalk == REWALK_SET || s->rewalk == REWALK_EMPTIES)
			more |= rewalk_slice(f, s, deadline_ns);
		/* After an overrun the walks are alone: between them the journal is read until nothing waits. */
		if (!s->lapped || s->rewalk == REWALK_SETTLE)
			more |= journal_drain(f, s, deadline_ns);
		if (s->rewalk == REWALK_SETTLE && journal_settled(s->cursor)) {
			s->reach_back = journal_position(s->cursor);
			s->rewalk = REWALK_EMPTIES;
			more = true;
		}
	}
	leave(f);
	more = commit(f, now_ns, more);
	if (f->audit.running)
		more |= fib_audit_work(f, deadline_ns);
	path_lists_reclaim(f->path_lists);
	return more;
}

uint64_t
fib_feed_wait_ns(const struct fib_feed *f)
{
	uint64_t now = walk_clock();

	if (f->config.fib == NULL)
		return 0;
	if (f->wait_readers || !fib_settled(f->config.fib)) {
		if (fib_batch_count(f->config.fib) > 0 && f->commit_due_ns > now + READERS_RETRY_NS)
			return f->commit_due_ns - now;
		return READERS_RETRY_NS;
	}
	if (f->audit.running)
		return 1000000;
	return f->retry_due_ns != 0 ? FAILED_RETRY_NS : 0;
}

bool
fib_feed_drained(const struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		const struct feed_source *s = &f->sources[i];

		if (s->rewalk != REWALK_NONE || s->visible != s->applied ||
			journal_passed(s->cursor) != journal_head(shard_journal(s->shard)))
			return false;
	}
	return f->leaving_count == 0 && fib_batch_count(f->config.fib) == 0;
}

const struct hist *
fib_feed_update_hist(const struct fib_feed *f)
{
	return &f->update_hist;
}

uint64_t
fib_feed_failed(const struct fib_feed *f)
{
	return atomic_load_explicit(&f->failed, memory_order_relaxed);
}

int
fib_feed_create(const struct fib_feed_config *config, struct fib_feed **out)
{
	struct fib_feed *f = arena_calloc(config->arena, sizeof(*f));
	int err = -ENOMEM;

	if (f == NULL)
		return -ENOMEM;
	f->config = *config;
	if (config->fib != NULL) {
		f->path_lists = fib_path_lists(config->fib);
		f->sources = arena_calloc(config->arena, config->shard_count * sizeof(*f->sources));
		if (f->sources == NULL)
			goto fail;
		for (unsigned i = 0; i < config->shard_count; i++) {
			f->sources[i].shard = config->shards[i];
			err = journal_subscribe(
				shard_journal(config->shards[i]), &f->sources[i].cursor);
			if (err != 0)
				goto fail;
			f->sources[i].applied = f->sources[i].visible =
				journal_passed(f->sources[i].cursor);
		}
		rewalk_all(f); /* what the RIB has already */
	}
	*out = f;
	return 0;

fail:
	fib_feed_destroy(f);
	return err;
}

void
fib_feed_destroy(struct fib_feed *f)
{
	role_enter_fib(); /* the thread has ended: whoever calls this is the last */
	for (unsigned i = 0; f->sources != NULL && i < f->config.shard_count; i++) {
		if (f->sources[i].cursor != NULL)
			journal_unsubscribe(
				shard_journal(f->sources[i].shard), f->sources[i].cursor);
	}
	for (unsigned i = 0; i < LOCAL_BUCKETS; i++) {
		while (f->locals[i] != NULL) {
			struct local_route *l = f->locals[i];

			f->locals[i] = l->next;
			path_list_unref(f->path_lists, l->list);
			arena_free(f->config.arena, l);
		}
	}
	for (unsigned i = 0; i < HOP_BUCKETS; i++) {
		while (f->hops[i] != NULL)
			hop_drop(f, f->hops[i]);
	}
	arena_free(f->config.arena, f->leaving);
	arena_free(f->config.arena, f->sources);
	arena_free(f->config.arena, f);
}
