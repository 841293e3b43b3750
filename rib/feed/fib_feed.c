/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/feed/fib_feed.h"
#include "rib/feed/fib_feed_impl.h"
#include "rib/shard/journal_prefetch.h"
#include "rib/shard/leak.h"
#include "rib/shard/trace.h"

#include "lpm/base/arena.h"
#include "lpm/base/note_work.h"

#include <errno.h>
#include <string.h>

#define READ_MAX 256 /* journal entries between two looks at the clock */
/*
 * Without a data plane: unread entries for each next hop above which all next hops are resolved again,
 * which takes less time than reading the entries
 */
#define FOLLOW_EACH 16u
#define READERS_SPIN_NS 10000
#define READERS_RETRY_NS 50000 /* running workers report every few microseconds */
#define READERS_RETRY_MAX_NS 1000000
#define FAILED_RETRY_NS 1000000000u /* a walk over all: not often */
#define BACKUP_SCAN 8 /* paths after the forwarding paths that may become the backup */
#define BACKUPS_UP_TO (PATH_LIST_MAX / 4 * 3) /* lists in use above which there are no backups */
#define BACKUPS_AGAIN (PATH_LIST_MAX / 2) /* lists in use below which backups return */
#define UNTRACKED_MIN 1024
#define LABEL_IMPLICIT_NULL 3u /* RFC 3032 2.1: no label */

void
fib_feed_fail(struct fib_feed *f)
{
	atomic_fetch_add_explicit(&f->failed, 1, memory_order_relaxed);
	if (f->retry_due_ns == 0)
		f->retry_due_ns = f->work_ns + FAILED_RETRY_NS;
}

/* ---- traces (rib/shard/trace.h) ---- */

void
fib_feed_trace(struct fib_feed *f, struct trace_tap *tap)
{
	f->tap = tap;
	f->tap_open = 0;
}

/* A change of the open batch. `peer`: of the route. */
static void
change_trace(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct peer_id peer,
	bool set) RUNS_ON(role_fib)
{
	struct trace_event e = {.kind = TRACE_FIB,
		.family = (uint8_t)fib_feed_family(p->afi),
		.vrf = vrf,
		.peer = peer,
		.permit = set,
		.number = fib_generation(f->config.fib),
		.prefix = *p};

	e.traces = (uint8_t)(trace_of_prefix(f->tap, vrf, (enum family)e.family, p) |
			     trace_of_peer(f->tap, peer));
	if (e.traces == 0)
		return;
	f->tap_open |= e.traces;
	trace_put(f->tap, &e, NULL);
}

static void
generation_trace(struct fib_feed *f) RUNS_ON(role_fib)
{
	struct trace_event e = {.kind = TRACE_GENERATION,
		.traces = f->tap_open,
		.peer = {TRACE_NO_PEER},
		.number = fib_generation(f->config.fib)};

	f->tap_open = 0;
	trace_put(f->tap, &e, NULL);
}

/* True on failure. */
static bool
set_check(struct fib_feed *f, int err) RUNS_ON(role_fib)
{
	if (err == 0 || err == -ENOENT) /* -ENOENT: no table of this family */
		return false;
	fib_feed_fail(f);
	return true;
}

/*
 * Sets a route; `host` for connected routes, which are placed before other routes. The first route
 * of a VPN instance creates the table of the instance. Returns 0 or the error of fib_set().
 */
static int
table_set(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list,
	bool host) RUNS_ON(role_fib)
{
	int err = host ? fib_set_host(f->config.fib, vrf, p, list)
		       : fib_set(f->config.fib, vrf, p, list);

	if (err != -ENOENT || vrf.v == VRF_DEFAULT.v)
		return err;
	err = fib_instance_add(f->config.fib, vrf, (enum afi)p->afi);
	return err != 0 ? err : fib_set(f->config.fib, vrf, p, list);
}

/* True on failure. */
static bool
set_own(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, const struct own_answer *own)
	RUNS_ON(role_fib)
{
	return set_check(f, table_set(f, vrf, p, own->list, own->source == SOURCE_CONNECTED));
}

static void
withdraw(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p) RUNS_ON(role_fib)
{
	/* -ENOENT: the prefix was not installed */
	int err = fib_withdraw(f->config.fib, vrf, p);

	if (__builtin_expect(f->tap != NULL, 0) && err == 0)
		change_trace(f, vrf, p, (struct peer_id){TRACE_NO_PEER}, false);
	if (err != -ENOMEM)
		return;
	/* the walk over the RIB misses the prefix if the id was freed */
	f->lost.state = f->lost.state == LOST_NONE || f->lost.state == LOST_DUE ? LOST_DUE
										: LOST_WALK_AGAIN;
	fib_feed_fail(f);
}

/* ---- what the RIB asks for ---- */

/* The ways of a path: neighbours, or with a label the remote edge router. */
struct ways {
	const struct hold *hold;
	const struct edge *edge; /* NULL: neighbours */
	uint32_t label;
	unsigned left_out; /* as in struct nexthop */
	struct vrf_id instance; /* not VRF_DEFAULT: see struct feed_answer */
};

static unsigned
ways_count(const struct ways *w)
{
	return w->edge != NULL ? 1 : w->hold->count;
}

/* The way `i`, and its port; edges have no port of their own. */
static struct path
ways_path(const struct ways *w, unsigned i, uint16_t *port)
{
	*port = w->edge != NULL ? PORT_NONE : w->hold->hop[i]->port;
	return (struct path){
		.next_hop = w->edge != NULL ? w->edge->next_hop : w->hold->hop[i]->next_hop,
		.label = w->label};
}

static bool
path_before(const struct path *a, const struct path *b)
{
	return a->next_hop.v < b->next_hop.v ||
	       (a->next_hop.v == b->next_hop.v && a->label < b->label);
}

/* Sorted by id and label, so that equal sets of next hops share a list. */
static void
equal_add(struct feed_answer *a, const struct path *path, uint16_t port)
{
	unsigned at = 0;

	while (at < a->count && path_before(&a->path[at], path))
		at++;
	if (at < a->count && !path_before(path, &a->path[at]))
		return;
	if (a->count == PATHS_MAX) {
		a->left_out++;
		return;
	}
	memmove(&a->path[at + 1], &a->path[at], (a->count - at) * sizeof(a->path[0]));
	memmove(&a->port[at + 1], &a->port[at], (a->count - at) * sizeof(a->port[0]));
	a->path[at] = *path;
	a->port[at] = port;
	a->count++;
}

/*
 * True if the way shares the port (or the next hop) with a forwarding path: no protection against
 * the loss.
 */
static bool
path_shares(const struct feed_answer *a, const struct path *path, uint16_t port, bool by_port)
{
	for (unsigned i = 0; i < a->count - a->backups; i++) {
		if (by_port ? a->port[i] == port : a->path[i].next_hop.v == path->next_hop.v)
			return true;
	}
	return false;
}

/* Considers a backup, preferably on another port. True if no better backup is possible. */
static bool
backup_offer(struct feed_answer *a, const struct ways *w)
{
	for (unsigned i = 0; i < ways_count(w); i++) {
		uint16_t port;
		struct path path = ways_path(w, i, &port);
		bool elsewhere = !path_shares(a, &path, port, true);

		if (path_shares(a, &path, port, false) || (a->backups == 1 && !elsewhere))
			continue;
		if (a->backups == 0)
			a->backups = 1, a->count++;
		a->path[a->count - 1] = path;
		a->port[a->count - 1] = port;
		if (elsewhere)
			return true;
	}
	return false;
}

/* A next hop that no shard watches: resolved without reports. */
static struct nexthop *
untracked_get(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr) RUNS_ON(role_fib)
{
	struct nexthop *n = nexthop_ref(f->config.nexthops, vrf, addr);

	if (n == NULL)
		return NULL;
	n->untracked = true;
	n->mark = f->mark;
	n->untracked_next = f->untracked;
	f->untracked = n;
	if (++f->untracked_count > f->untracked_max)
		fib_feed_rewalk(f); /* the walk marks used next hops; the sweep frees the rest */
	return n;
}

static void
untracked_sweep(struct fib_feed *f) RUNS_ON(role_fib)
{
	struct nexthop **at = &f->untracked;

	while (*at != NULL) {
		struct nexthop *n = *at;

		if (n->mark == f->mark) {
			at = &n->untracked_next;
			continue;
		}
		*at = n->untracked_next;
		n->untracked = false;
		f->untracked_count--;
		nexthop_unref(f->config.nexthops, n);
	}
	f->untracked_max =
		f->untracked_count > UNTRACKED_MIN / 2 ? 2 * f->untracked_count : UNTRACKED_MIN;
}

enum usable { USABLE, USABLE_LATER, USABLE_NEVER, USABLE_FAILED };

/* RFC 4364 4.3.2: a path imported from a VPN resolves where its peer is. */
static struct vrf_id
path_vrf(const struct shard *shard, struct vrf_id vrf, const struct rib_path *path)
{
	struct shard_peer peer;

	if (vrf.v == VRF_DEFAULT.v || !shard_peer_peek(shard, path->peer, &peer))
		return vrf;
	return peer.vrf;
}

/* The ways of a path's next hop. */
static enum usable
path_ways(struct fib_feed *f, const struct shard *shard, struct vrf_id table_vrf,
	const struct prefix *prefix, const struct rib_path *path, struct ways *out)
	RUNS_ON(role_fib)
{
	struct vrf_id vrf = path_vrf(shard, table_vrf, path);
	const struct attr_packed *attrs = attr_get(shard_attrs(shard), path->accepted);
	uint32_t label =
		path->label_flags & PATH_IMPORTED ? path->label_flags >> 12 : RIB_LABEL_NONE;
	struct leak_origin origin;
	struct ip_addr next_hop;
	bool watched = false;
	struct nexthop *n;

	if (path->peer.v == PEER_SELF.v && shard_path_origin(shard, path, &origin) &&
		origin.vrf.v < FIB_VRF_MAX) {
		*out = (struct ways){.instance = origin.vrf};
		return USABLE;
	}
	if (path->peer.v == PEER_SELF.v || attrs == NULL)
		return USABLE_NEVER;
	next_hop = attr_packed_next_hop(attrs);
	n = nexthop_find(f->config.nexthops, vrf, &next_hop);
	if (n == NULL || (n->watchers == 0 && !n->untracked))
		n = untracked_get(f, vrf, &next_hop);
	if (n != NULL) {
		n->mark = f->mark;
		watched = n->watchers > 0;
		if (vrf.v == table_vrf.v)
			n = nexthop_for(n, prefix);
		n->mark = f->mark;
	}
	if (n == NULL || (n->up && !fib_hold(f, n))) {
		fib_feed_fail(f);
		return USABLE_FAILED;
	}
	if (!n->up) /* next hops are not tracked, so no evaluation by the shard will follow */
		return watched ? USABLE_LATER : USABLE_NEVER;
	*out = (struct ways){.hold = n->hold, .label = LABEL_NONE, .left_out = n->left_out};
	if (label == RIB_LABEL_NONE || n->hold->count == 0) {
		n->given = n->digest;
		return USABLE;
	}
	/* the edge follows the resolution: the tables keep their entries */
	out->left_out = 0;
	out->edge = fib_edge_to(f, vrf, &next_hop);
	if (out->edge == NULL) {
		fib_feed_fail(f);
		return USABLE_FAILED;
	}
	if (label != LABEL_IMPLICIT_NULL)
		out->label = label;
	return USABLE;
}

enum feed_want
fib_feed_want(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct feed_answer *out)
{
	unsigned eligible = view->paths != NULL ? view->paths->eligible : 0, scanned = 0;
	const struct shard *shard = feed_shard(s, vrf, &view->prefix);
	bool later = false, failed = false;

	out->count = out->backups = out->left_out = 0;
	out->blackhole = false;
	out->instance = VRF_DEFAULT;
	for (unsigned i = 0; i < eligible; i++) {
		const struct rib_path *path = &view->paths->path[i];
		struct ways ways;
		enum usable usable;

		if (i >= view->paths->multipath && out->count > 0 &&
			(f->scarce || scanned++ == BACKUP_SCAN))
			break;
		usable = path_ways(f, shard, vrf, &view->prefix, path, &ways);
		later |= usable == USABLE_LATER;
		failed |= usable == USABLE_FAILED;
		if (usable == USABLE_NEVER)
			break;
		if (usable != USABLE)
			continue;
		if (out->count == 0)
			out->peer = path->peer;
		if (ways.instance.v != VRF_DEFAULT.v) { /* best of all, or no backup */
			if (out->count > 0)
				continue;
			out->instance = ways.instance;
			break;
		}
		if (ways_count(&ways) == 0) { /* a blackhole: alone, and no backup */
			out->blackhole = out->count == 0;
			if (out->blackhole)
				break;
			continue;
		}
		if (i < view->paths->multipath || out->count == 0) {
			for (unsigned k = 0; k < ways_count(&ways); k++) {
				uint16_t port;
				struct path way = ways_path(&ways, k, &port);

				equal_add(out, &way, port);
			}
			out->left_out += ways.left_out;
		} else if (backup_offer(out, &ways)) {
			break;
		}
	}
	out->failed = failed && !later && !feed_answers(out);
	return later || out->failed ? WANT_LATER : feed_answers(out) ? WANT_LIST : WANT_NOTHING;
}

bool
fib_feed_rib_wins(const struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct prefix *p, struct peer_id id, const struct own_answer *own)
{
	enum route_source source = SOURCE_INTERNAL;
	struct shard_peer peer;

	if (own->preference < 0)
		return false;
	if (shard_peer_peek(feed_shard(s, vrf, p), id, &peer) && peer.external)
		source = SOURCE_EXTERNAL;
	return f->preference[source] < own->preference ||
	       (f->preference[source] == own->preference && source < own->source);
}

/* True if the host route is preferred to any RIB route. */
static bool
own_before_rib(const struct fib_feed *f, const struct own_answer *own)
{
	return own->preference < f->preference[SOURCE_EXTERNAL] &&
	       own->preference < f->preference[SOURCE_INTERNAL];
}

/* When lists run out: without the backup, then with one next hop. 0, -ENOSPC. */
static int
answer_list(struct fib_feed *f, const struct feed_answer *a, struct path_list_id *out)
	RUNS_ON(role_fib)
{
	int err;

	if (a->blackhole)
		return path_list_get(f->path_lists, PATH_LIST_BLACKHOLE, PORT_NONE, NULL, 0, out);
	if (a->instance.v != VRF_DEFAULT.v)
		return path_list_get(
			f->path_lists, PATH_LIST_INSTANCE, a->instance.v, NULL, 0, out);
	err = path_list_get_backed(f->path_lists, a->path, a->count, a->backups, a->left_out, out);
	if (path_lists_in_use(f->path_lists) > BACKUPS_UP_TO)
		f->scarce = true;
	if (err == -ENOSPC && a->backups > 0)
		err = path_list_get_backed(
			f->path_lists, a->path, a->count - a->backups, 0, a->left_out, out);
	if (err == -ENOSPC && a->count > 1)
		err = path_list_get_backed(f->path_lists, a->path, 1, 0, 0, out);
	return err;
}

/*
 * Reports to the shard if the tables have no room for the prefix, or have room again. For an
 * installed destination two comparisons while no prefix waits. `failed`: lack of memory or ids.
 */
static void
installed_check(struct fib_feed *f, struct vrf_id vrf, const struct dest_view *view, bool wanted,
	bool failed) RUNS_ON(role_fib)
{
	bool installed = true;

	if (view->fib == DEST_INSTALLED && !failed &&
		!fib_any_waiting(f->config.fib, vrf, view->prefix.afi))
		return;
	if (wanted)
		installed = fib_installed(f->config.fib, vrf, &view->prefix);
	if (view->fib != (installed ? DEST_INSTALLED : DEST_NOT_INSTALLED))
		fib_note_add(f->config.fib, vrf, &view->prefix, installed);
}

/*
 * Puts the selected route of a destination into the open batch. WANT_NOTHING: a withdrawal is due,
 * in its order.
 */
static enum feed_want
apply(struct fib_feed *f, struct feed_source *s, struct vrf_id vrf, const struct dest_view *view)
	RUNS_ON(role_fib)
{
	bool failed = false;
	struct feed_answer answer;
	struct path_list_id list;
	struct own_answer own;
	enum feed_want want;

	bool has_own = fib_own_find(f, vrf, &view->prefix, &own);

	nexthop_changed(f->config.nexthops, vrf, &view->prefix);
	answer.count = 0;
	answer.blackhole = answer.failed = false;
	answer.instance = VRF_DEFAULT;
	want = WANT_NOTHING;
	if (!has_own || !own_before_rib(f, &own))
		want = fib_feed_want(f, s, vrf, view, &answer);
	if (has_own && (!feed_answers(&answer) ||
			       !fib_feed_rib_wins(f, s, vrf, &view->prefix, answer.peer, &own))) {
		failed = set_own(f, vrf, &view->prefix, &own);
		if (__builtin_expect(f->tap != NULL, 0) && !failed)
			change_trace(f, vrf, &view->prefix, PEER_SELF, true);
		installed_check(f, vrf, view, true, failed);
		return WANT_LIST;
	}
	if (feed_answers(&answer)) {
		if (answer_list(f, &answer, &list) != 0) {
			fib_feed_fail(f);
			installed_check(f, vrf, view, true, true);
			return WANT_LATER;
		}
		failed = set_check(f, table_set(f, vrf, &view->prefix, list, false));
		if (__builtin_expect(f->tap != NULL, 0) && !failed)
			change_trace(f, vrf, &view->prefix, answer.peer, true);
		path_list_unref(f->path_lists, list);
	} else if (want == WANT_LATER) {
		/*
		 * The RIB's route cannot be installed now. The route that replaces it in the tables
		 * has a journal entry by now, maybe after an unwritten entry of another shard; no
		 * withdrawal may precede that entry.
		 */
		struct dest_view newest = {.sequence = (uint32_t)journal_reserved(s->journal)};

		journal_passed_over(s->journal, s->cursor, &newest);
	}
	failed |= want == WANT_LATER && answer.failed;
	installed_check(f, vrf, view, feed_answers(&answer) || failed, failed);
	return want;
}

static void
rewalk_begin(struct feed_source *s, enum feed_walk state)
{
	s->rewalk = state;
	s->rewalk_table = 0;
	s->walk = (struct walk){0};
}

void
fib_feed_rewalk(struct fib_feed *f)
{
	f->mark++;
	if (f->sweep == SWEEP_NONE)
		f->sweep = SWEEP_UNTRACKED;
	rewalk_begin(&f->source, RIB_WALK_SET_ALL);
}

bool
fib_feed_table(const struct feed_source *s, struct vrf_id vrf, const struct prefix *p,
	const struct dest_table **out)
{
	const struct shard *shard = feed_shard(s, vrf, p);
	struct table_id table;

	if (shard_table_find(shard, vrf, fib_feed_family(p->afi), &table) != 0)
		return false;
	*out = shard_table(shard, table);
	return true;
}

/* The RIB's destination of a prefix; false without a destination. */
static bool
rib_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p,
	struct dest_view *view) RUNS_ON(role_fib)
{
	const struct dest_table *t;
	struct dest_id id;

	if (!fib_feed_table(&f->source, vrf, p, &t))
		return false;
	id = dest_find(t, p);
	return id.v != DEST_NONE && dest_peek(t, id, view);
}

static bool
settled(const struct fib_feed *f)
{
	return f->source.reader == JOURNAL_FOLLOWED && journal_settled(f->source.cursor);
}

/* Withdraws prefixes whose host route is gone, once all walks are done. */
static void
pending_withdraw(struct fib_feed *f) RUNS_ON(role_fib)
{
	if (f->pending_count == 0 || !settled(f))
		return;
	for (unsigned i = 0; i < f->pending_count; i++) {
		const struct pending_withdrawal *l = &f->pending[i];
		struct feed_source *s = &f->source;
		struct own_answer own;
		struct dest_view view;

		if (fib_own_find(f, l->vrf, &l->prefix, &own))
			continue;
		if (rib_find(f, l->vrf, &l->prefix, &view) &&
			(apply(f, s, l->vrf, &view) != WANT_NOTHING ||
				(int32_t)(view.sequence - (uint32_t)journal_position(s->cursor)) >
					0))
			continue; /* installed, or the journal entry is still to come */
		withdraw(f, l->vrf, &l->prefix);
	}
	f->pending_count = 0;
}

/*
 * Without a host route and a RIB route, the RIB may have had a route that this cursor has not
 * passed, or has passed without a withdrawal because of the host route. So the withdrawal waits, as
 * withdrawals of the journal do, until no withdrawal has to wait.
 */
void
fib_feed_refresh(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct path_list_id there;
	struct own_answer own;
	struct dest_view view;

	if (f->config.fib == NULL)
		return;
	if (rib_find(f, vrf, p, &view) && apply(f, &f->source, vrf, &view) != WANT_NOTHING)
		return;
	if (fib_own_find(f, vrf, p, &own)) {
		(void)set_own(f, vrf, p, &own);
		return;
	}
	if (!fib_shadow_get(f->config.fib, vrf, p, &there))
		return;
	if (f->pending_count == f->pending_size) {
		unsigned size = f->pending_size ? 2 * f->pending_size : 16;
		struct pending_withdrawal *grown =
			arena_realloc(f->config.arena, f->pending, size * sizeof(*grown));

		if (grown == NULL) {
			withdraw(f, vrf, p);
			return;
		}
		f->pending = grown;
		f->pending_size = size;
	}
	f->pending[f->pending_count++] = (struct pending_withdrawal){vrf, *p};
	pending_withdraw(f);
}

int
fib_feed_watch(struct fib_feed *f, const struct nexthop_message *m)
{
	if (!m->unwatch)
		return nexthop_watch(f->config.nexthops, m->vrf, &m->addr);
	nexthop_unwatch(f->config.nexthops, m->vrf, &m->addr);
	return 0;
}

void
fib_feed_resolve_via_default(struct fib_feed *f, bool yes)
{
	nexthop_via_default(f->config.nexthops, yes);
}

/* ---- journal ---- */

static void
apply_entry(struct fib_feed *f, struct feed_source *s, const struct journal_entry *e)
	RUNS_ON(role_fib)
{
	const struct shard *shard = s->shards.at[e->shard];
	struct dest_view view;
	struct vrf_id vrf;
	enum family family;

	shard_table_key(shard, e->table, &vrf, &family);
	if (!fib_feed_forwards(family) || !dest_peek(shard_table(shard, e->table), e->dest, &view))
		return;
	if (apply(f, s, vrf, &view) == WANT_NOTHING && journal_may_withdraw(s->cursor, e, &view))
		withdraw(f, vrf, &view.prefix);
}

static void
lapped(struct feed_source *s)
{
	journal_pin(s->cursor);
	s->reach_back = journal_resume(s->journal, s->cursor);
	s->reader = JOURNAL_LAPPED;
	rewalk_begin(s, s->rewalk == RIB_WALK_SET_ALL ? RIB_WALK_SET_ALL : RIB_WALK_SET_CHANGED);
}

static unsigned
batch_room(const struct fib_feed *f)
{
	unsigned count = fib_batch_cost(f->config.fib);

	return count < f->config.batch_max ? f->config.batch_max - count : 0;
}

/*
 * Each stage runs once for FIB_PREFETCH entries: the shadow exceeds the caches, and is searched for
 * that many prefixes at once.
 */
static const struct journal_prefetch_ahead prefetch_ahead = {.dests = 5 * FIB_PREFETCH,
	.paths = 4 * FIB_PREFETCH,
	.slots = 3 * FIB_PREFETCH,
	.sets = 2 * FIB_PREFETCH};

/* Prefixes to search in the shadow together. */
struct prefetch_seeks {
	const struct fib_feed *feed;
	struct table_id table;
	unsigned shard, count;
	struct prefix prefix[FIB_PREFETCH];
};

static void
seeks_start(struct prefetch_seeks *k) RUNS_ON(role_fib)
{
	struct vrf_id vrf;
	enum family family;

	if (k->count == 0)
		return;
	shard_table_key(k->feed->source.shards.at[k->shard], k->table, &vrf, &family);
	if (fib_feed_forwards(family))
		fib_prefetch(k->feed->config.fib, vrf, k->prefix, k->count);
	k->count = 0;
}

static void
seeks_add(void *ctx, const struct journal_entry *e) RUNS_ON(role_fib)
{
	struct prefetch_seeks *k = ctx;

	if (k->count == FIB_PREFETCH || e->table.v != k->table.v)
		seeks_start(k);
	k->table = e->table;
	k->shard = e->shard;
	if (dest_hint_prefix(shard_table(k->feed->source.shards.at[e->shard], e->table), e->dest,
		    &k->prefix[k->count]))
		k->count++;
}

/* True while there is more. Stops at a full batch. */
static bool
journal_drain(struct fib_feed *f, struct feed_source *s, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct journal *j = s->journal;
	struct journal_entry entries[READ_MAX];
	struct prefetch_seeks seeks = {.feed = f};
	struct journal_prefetch prefetch;
	unsigned room;
	int n;

	while ((room = batch_room(f)) > 0) {
		/* an entry may cost more than 1 */
		n = journal_read(
			j, s->cursor, entries, room / 8 < READ_MAX ? room / 8 + 1 : READ_MAX);
		if (n == -EOVERFLOW) {
			lapped(s);
			return true;
		}
		if (n <= 0)
			return false;
		journal_prefetch_begin(&prefetch, &s->shards, true);
		for (int i = 0; i < n; i++)
			journal_prefetch_choose(&prefetch, &entries[i],
				shard_table(s->shards.at[entries[i].shard], entries[i].table));
		for (int i = 0; i < n; i++) {
			if (i % FIB_PREFETCH == 0) {
				journal_prefetch_step(&prefetch, FIB_PREFETCH, prefetch_ahead, NULL,
					seeks_add, &seeks);
				seeks_start(&seeks);
			}
			if (s->first[entries[i].shard] == 0 && entries[i].sequence > s->visible)
				s->first[entries[i].shard] = entries[i].sequence;
			apply_entry(f, s, &entries[i]);
		}
		journal_advance(j, s->cursor, entries[n - 1].sequence);
		/*
		 * the position moves back after the wait of a withdrawal: entries read again are
		 * already applied
		 */
		if (entries[n - 1].sequence > s->applied)
			s->applied = entries[n - 1].sequence;
		if (walk_clock() >= deadline_ns)
			return true;
	}
	return true;
}

static void
follow_entry(struct fib_feed *f, const struct journal_entry *e) RUNS_ON(role_fib)
{
	const struct shard *shard = f->source.shards.at[e->shard];
	struct prefix p;
	struct vrf_id vrf;
	enum family family;

	shard_table_key(shard, e->table, &vrf, &family);
	if (fib_feed_forwards(family) &&
		dest_hint_prefix(shard_table(shard, e->table), e->dest, &p))
		nexthop_changed(f->config.nexthops, vrf, &p);
}

/*
 * The journal without a data plane: next hops alone depend on the routes. There is no cursor while no
 * next hop depends on a BGP route, so that the tables of a route server cost nothing here.
 */
static bool
journal_follow(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct nexthop_table *t = f->config.nexthops;
	struct feed_source *s = &f->source;
	struct journal_entry entries[READ_MAX];
	unsigned follows = nexthop_follows(t);

	if (follows == 0) {
		if (s->cursor != NULL)
			journal_unsubscribe(s->journal, s->cursor);
		s->cursor = NULL;
		return false;
	}
	if (s->cursor == NULL) {
		if (journal_subscribe(s->journal, &s->cursor) != 0)
			return false; /* no cursor is free: the next turn tries again */
		journal_set_patience(s->cursor, JOURNAL_WAIT);
		nexthop_changed_all(t); /* for changes since the resolution of the first */
	}
	for (;;) {
		uint64_t unread = journal_head(s->journal) - journal_position(s->cursor);
		int n = unread <= FOLLOW_EACH * (uint64_t)(nexthop_count(t) + FOLLOW_EACH)
				? journal_read(s->journal, s->cursor, entries, READ_MAX)
				: -EOVERFLOW;

		if (n == -EOVERFLOW) {
			(void)journal_resume(s->journal, s->cursor);
			/* no walk follows: the tombstones before the head are free */
			journal_advance(s->journal, s->cursor, journal_position(s->cursor));
			nexthop_changed_all(t);
			return true;
		}
		if (n <= 0)
			return false;
		for (int i = 0; i < n; i++)
			follow_entry(f, &entries[i]);
		journal_advance(s->journal, s->cursor, entries[n - 1].sequence);
		if (walk_clock() >= deadline_ns)
			return true;
	}
}

/*
 * While a walk after an overrun runs, the journal is not read; between the walks it is read until no
 * withdrawal waits.
 */
static bool
journal_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct feed_source *s = &f->source;
	bool more = false;

	if (f->config.fib == NULL)
		return journal_follow(f, deadline_ns);
	if (s->reader == JOURNAL_FOLLOWED || s->rewalk == RIB_WALK_SETTLE)
		more = journal_drain(f, s, deadline_ns);
	if (s->rewalk != RIB_WALK_SETTLE || !journal_settled(s->cursor))
		return more;
	s->reach_back = journal_position(s->cursor);
	rewalk_begin(s, RIB_WALK_EMPTIES);
	return true;
}

struct rewalk_context {
	struct fib_feed *f;
	struct feed_source *s;
	struct vrf_id vrf;
};

/*
 * The second walk withdraws destinations empty before `reach_back`; later changes still have a
 * journal entry to come.
 */
static void
rewalk_empty(struct rewalk_context *c, const struct dest_view *view) RUNS_ON(role_fib)
{
	struct feed_source *s = c->s;
	struct path_list_id there;

	if (s->rewalk == RIB_WALK_EMPTIES) {
		if ((int32_t)(view->sequence - (uint32_t)s->reach_back) <= 0)
			withdraw(c->f, c->vrf, &view->prefix);
		return;
	}
	journal_passed_over(s->journal, s->cursor, view);
	if (!s->empties_due)
		s->empties_due = fib_shadow_get(c->f->config.fib, c->vrf, &view->prefix, &there);
}

static bool
rewalk_visit(void *ctx, struct dest_id id, const struct dest_view *view) RUNS_ON(role_fib)
{
	struct rewalk_context *c = ctx;
	bool young = (int32_t)(view->sequence - (uint32_t)c->s->reach_back) > 0;

	if (c->s->rewalk == RIB_WALK_SET_CHANGED && !young)
		return true;
	if (apply(c->f, c->s, c->vrf, view) == WANT_NOTHING)
		rewalk_empty(c, view);
	return batch_room(c->f) > 0;
}

/* The end of a table: the next table, or the next state. */
static void
rewalk_next(struct feed_source *s)
{
	bool empties =
		s->rewalk != RIB_WALK_EMPTIES && (s->reader == JOURNAL_LAPPED || s->empties_due);

	s->walk = (struct walk){0};
	if (++s->rewalk_table < shard_table_count(s->shards.at[0]))
		return;
	if (empties) {
		rewalk_begin(s, RIB_WALK_SETTLE);
		return;
	}
	rewalk_begin(s, RIB_WALK_NONE);
	s->empties_due = false;
	if (s->reader == JOURNAL_LAPPED) {
		s->reader = JOURNAL_FOLLOWED;
		journal_unpin(s->cursor);
	}
}

static bool
rewalk_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	struct feed_source *s = &f->source;
	struct table_id table = {(uint16_t)s->rewalk_table};
	struct rewalk_context c = {.f = f, .s = s};
	enum family family;

	if (s->rewalk == RIB_WALK_NONE || s->rewalk == RIB_WALK_SETTLE)
		return false;
	if (batch_room(f) == 0)
		return true;
	if (shard_table_count(s->shards.at[0]) == 0) {
		s->rewalk = RIB_WALK_NONE;
		return false;
	}
	shard_table_key(s->shards.at[0], table, &c.vrf, &family);
	if (!fib_feed_forwards(family)) {
		rewalk_next(s);
		return true;
	}
	/* again in each slice: a removed table is gone then */
	shards_table(&s->shards, table, &s->walked);
	if (s->walk.table == NULL)
		walk_begin_all(&s->walk, &s->walked);
	else
		s->walk.table = s->walked.at[0];
	if (!walk_slice(&s->walk, UINT32_MAX, deadline_ns, walk_clock, rewalk_visit, &c))
		rewalk_next(s);
	return true;
}

/* ---- commit ---- */

/* On the time scale of the argument of fib_feed_work(). */
static uint64_t
turn_now(const struct fib_feed *f)
{
	return f->work_ns + (walk_clock() - f->work_clock_ns);
}

/*
 * Records the time since messages behind these entries were read. `first`: first entry of each
 * shard, with several shards.
 */
static void
latencies_add(struct hist *h, const struct feed_source *s, const uint64_t first[SHARDS_MAX],
	uint64_t after, uint64_t to)
{
	for (unsigned i = 0; i < s->shards.count; i++) {
		uint64_t at = 0, received, now = walk_clock();

		if (s->shards.count > 1 && first[i] == 0)
			continue;
		if (s->shards.count > 1)
			after = first[i] - 1;
		while (shard_received_next(s->shards.at[i], after, to, &at, &received)) {
			if (received != 0)
				hist_add(h, now - received);
		}
	}
}

/* All workers use the newest generation. */
static void
flip_passed(struct fib_feed *f)
{
	const struct feed_source *s = &f->source;

	if (f->flip == FLIP_OPEN && s->flip_after != s->flip_to)
		latencies_add(&f->use_hist, s, s->flip_first, s->flip_after, s->flip_to);
	f->flip = FLIP_PASSED;
}

static void
visible_advance(struct fib_feed *f, bool flipped) RUNS_ON(role_fib)
{
	struct feed_source *s = &f->source;

	if (flipped) {
		f->flips[f->flip_count++ % FIB_FEED_FLIPS] =
			(struct feed_flip_note){s->applied, fib_generation(f->config.fib)};
		if (__builtin_expect(f->tap_open != 0, 0))
			generation_trace(f);
		/*
		 * the previous flip, if flip_in_use() has not noted it: there is a single flip at a time
		 */
		flip_passed(f);
		s->flip_after = s->visible;
		s->flip_to = s->applied;
		memcpy(s->flip_first, s->first, sizeof(s->first));
	}
	if (s->visible != s->applied) {
		latencies_add(&f->update_hist, s, s->first, s->visible, s->applied);
		s->visible = s->applied;
	}
	memset(s->first, 0, sizeof(s->first));
	if (flipped)
		f->flip = FLIP_OPEN;
}

/* False: some worker may still be in the copy before. */
static bool
flip_in_use(struct fib_feed *f) RUNS_ON(role_fib)
{
	if (!fib_in_use(f->config.fib, turn_now(f)))
		return false;
	flip_passed(f);
	return true;
}

/*
 * A running worker reports quiescence within microseconds. Waiting for the report is cheaper than a
 * further turn, and the feed can paint the other copy at once.
 */
static bool
flip_passes_soon(struct fib_feed *f) RUNS_ON(role_fib)
{
	uint64_t until = walk_clock() + READERS_SPIN_NS;

	do {
		if (flip_in_use(f))
			return true;
	} while (walk_clock() < until);
	return false;
}

/*
 * When a partial batch is committed: a flip costs the workers the same for any batch, so a small
 * batch waits longer.
 */
static uint64_t
commit_due(const struct fib_feed *f, unsigned waiting) RUNS_ON(role_fib)
{
	return waiting >= f->config.batch_some ? f->commit_due_ns : f->commit_latest_ns;
}

uint64_t
fib_feed_generation_of(const struct fib_feed *f, uint32_t sequence)
{
	uint64_t low = f->flip_count > FIB_FEED_FLIPS ? f->flip_count - FIB_FEED_FLIPS : 0, high;

	/* the first note with the change */
	for (high = f->flip_count; low < high;) {
		uint64_t mid = low + (high - low) / 2;

		if ((int32_t)((uint32_t)f->flips[mid % FIB_FEED_FLIPS].applied - sequence) >= 0)
			high = mid;
		else
			low = mid + 1;
	}
	if (low < f->flip_count)
		return f->flips[low % FIB_FEED_FLIPS].number;
	return (int32_t)((uint32_t)f->source.visible - sequence) >= 0
		       ? fib_generation(f->config.fib)
		       : 0;
}

/* True: again at once. */
static bool
commit(struct fib_feed *f, uint64_t now_ns, bool more) RUNS_ON(role_fib)
{
	unsigned waiting = fib_batch_cost(f->config.fib);
	uint64_t generation;
	bool flipped;
	int err;

	f->wait_readers = !flip_in_use(f);
	if (waiting == 0 && fib_settled(f->config.fib)) {
		visible_advance(f, false);
		return more;
	}
	/*
	 * A full batch is committed at once; a smaller batch, and what lacked memory, waits until an
	 * interval after the last flip.
	 */
	if ((f->commit_short || (waiting > 0 && waiting < f->config.batch_max)) &&
		now_ns < commit_due(f, waiting))
		return more && waiting < f->config.batch_max;
	generation = fib_generation(f->config.fib);
	err = fib_commit(f->config.fib, turn_now(f));
	if (err == -EAGAIN)
		return more && waiting < f->config.batch_max;
	if (waiting > 0 || err == -ENOMEM) {
		f->commit_due_ns = now_ns + f->config.commit_interval_ns;
		f->commit_latest_ns = now_ns + f->config.commit_latest_ns;
	}
	flipped = fib_generation(f->config.fib) != generation;
	f->commit_short = err == -ENOMEM;
	if (!f->commit_short)
		visible_advance(f, flipped);
	if (flipped) {
		f->flip_clock_ns = walk_clock();
		f->wait_readers = !flip_passes_soon(f);
	}
	return more;
}

/* ---- reports on the room of the tables ---- */

/* The report for a shard, to fill; NULL: the shard is reading the report. */
static struct shard_report *
report_open(const struct fib_feed *f, unsigned shard)
{
	struct shard_report *r = &f->report[shard];

	/* acquire: pairs with the store in shard_report */
	if (atomic_load_explicit(&r->busy, memory_order_acquire))
		return NULL;
	return r;
}

static void
report_add(struct shard_report *r, enum shard_room_kind kind, struct vrf_id vrf,
	const struct prefix *p)
{
	r->at[r->count++] = (struct shard_room){kind, vrf, *p};
}

/* Reports each table that became tight, or is no longer tight. */
static void
report_tight(struct fib_feed *f, unsigned shard) RUNS_ON(role_fib)
{
	const struct shards *s = &f->source.shards;
	struct shard_report *r = report_open(f, shard);

	for (unsigned i = 0; r != NULL && i < shard_table_count(s->at[0]); i++) {
		struct prefix all = {0};
		struct vrf_id vrf;
		enum family family;
		bool tight;

		shard_table_key(s->at[0], (struct table_id){(uint16_t)i}, &vrf, &family);
		if (!fib_feed_forwards(family))
			continue;
		all.afi = (uint8_t)family_afi(family);
		all.len = FIB_GROUPS_FROM;
		tight = fib_is_tight(f->config.fib, vrf, all.afi);
		if (tight == (f->tight[shard][i / 64] >> i % 64 & 1))
			continue;
		f->tight[shard][i / 64] ^= 1ull << i % 64;
		report_add(r, tight ? ROOM_TIGHT : ROOM_PLENTY, vrf, &all);
	}
}

static unsigned
room_shard(const struct fib_feed *f, const struct fib_note *room)
{
	return shards_of(&f->source.shards, shards_by(room->vrf, fib_feed_family(room->prefix.afi)),
		&room->prefix);
}

/*
 * Fills and sends the reports that no shard is reading. The notes wait while the shard of the first
 * note reads a report.
 */
static void
reports_send(struct fib_feed *f) RUNS_ON(role_fib)
{
	const struct shards *s = &f->source.shards;
	struct fib_note room;

	if (f->report == NULL)
		return;
	if (fib_notes_lost(f->config.fib))
		fib_feed_fail(f); /* retry() compares all destinations */
	for (unsigned i = 0; i < s->count; i++)
		report_tight(f, i);
	while (fib_note_peek(f->config.fib, &room)) {
		struct shard_report *r = report_open(f, room_shard(f, &room));

		if (r == NULL || r->count == SHARD_REPORT_MAX)
			break;
		report_add(r, room.installed ? ROOM_INSTALLED : ROOM_NONE, room.vrf, &room.prefix);
		fib_note_remove(f->config.fib);
	}
	for (unsigned i = 0; i < s->count; i++) {
		struct shard_report *r = report_open(f, i);

		if (r == NULL || r->count == 0)
			continue;
		atomic_store_explicit(&r->busy, true, memory_order_relaxed);
		if (f->config.report(f->config.report_ctx, i, r) != 0)
			atomic_store_explicit(&r->busy, false, memory_order_relaxed);
	}
}

/* True if a report could not be sent. A shard that reads a report wakes the fib thread. */
static bool
reports_wait(const struct fib_feed *f) RUNS_ON(role_fib)
{
	for (unsigned i = 0; f->report != NULL && i < f->source.shards.count; i++) {
		const struct shard_report *r = report_open(f, i);

		if (r != NULL && r->count > 0)
			return true;
	}
	return false;
}

/* ---- failed withdrawals ---- */

/*
 * One slice of the walk over the fib: withdraws prefixes that are neither in the RIB nor host
 * routes.
 */
static bool
lost_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	if (f->lost.state == LOST_NONE || f->lost.state == LOST_DUE)
		return false;
	for (unsigned n = 1; n % 64 != 0 || walk_clock() < deadline_ns; n++) {
		struct own_answer own;
		struct dest_view view;
		struct prefix next;

		if (!fib_shadow_next(f->config.fib, f->lost.vrf,
			    f->lost.prefix.afi != AFI_NONE ? &f->lost.prefix : NULL, &next)) {
			f->lost.prefix = (struct prefix){0};
			if (++f->lost.vrf.v < FIB_VRF_MAX)
				continue;
			f->lost.state = f->lost.state == LOST_WALK ? LOST_NONE : LOST_DUE;
			return false;
		}
		f->lost.prefix = next;
		if (!fib_own_find(f, f->lost.vrf, &next, &own) &&
			!rib_find(f, f->lost.vrf, &next, &view))
			fib_feed_refresh(f, f->lost.vrf, &next);
	}
	return true;
}

static void
lost_retry(struct fib_feed *f)
{
	if (f->lost.state != LOST_DUE && f->lost.state != LOST_WALK_AGAIN)
		return;
	f->lost.state = LOST_WALK;
	f->lost.vrf = (struct vrf_id){0};
	f->lost.prefix = (struct prefix){0};
}

/* ---- the turn ---- */

/* Repeats everything that found no id or memory. */
static void
retry(struct fib_feed *f) RUNS_ON(role_fib)
{
	f->retry_due_ns = 0;
	f->scarce = path_lists_in_use(f->path_lists) > BACKUPS_UP_TO;
	f->sweep = SWEEP_UNTRACKED_AND_HOLDS;
	fib_neighbors_retry(f);
	fib_lsps_retry(f);
	fib_swaps_rewrite(f);
	lost_retry(f);
	fib_own_rewalk(f, OWN_WALK_ALL);
	fib_feed_rewalk(f);
}

static bool
next_hops_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	return nexthop_work(f->config.nexthops, f->work_ns, deadline_ns);
}

/* After the walk that marks the next hops in use. */
static bool
sweep_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	(void)deadline_ns;
	if (f->sweep == SWEEP_NONE || f->source.rewalk == RIB_WALK_SET_ALL)
		return false;
	untracked_sweep(f);
	fib_edges_sweep(f);
	if (f->sweep == SWEEP_UNTRACKED_AND_HOLDS)
		fib_hops_sweep(f);
	f->sweep = SWEEP_NONE;
	return false;
}

static bool
pending_work(struct fib_feed *f, uint64_t deadline_ns) RUNS_ON(role_fib)
{
	(void)deadline_ns;
	pending_withdraw(f);
	return false;
}

/*
 * The activities of a turn that fill the open batch, in order: an activity sees the changes of
 * earlier activities. Each returns true if more work is due.
 */
static const struct activity {
	const char *name; /* for the watchdog (lpm/base/note_work.h) */
	bool without_fib; /* also runs when only next hops are tracked */
	bool (*work)(struct fib_feed *f, uint64_t deadline_ns);
} activities[] = {
	{"next hops", true, next_hops_work},
	{"routes of the host", true, fib_own_work},
	{"walk over the RIB", false, rewalk_work},
	{"RIB journal", true, journal_work},
	{"swapped labels", false, fib_swaps_work},
	{"sweep of next hops", false, sweep_work},
	{"lost withdrawals", false, lost_work},
	{"pending withdrawals", false, pending_work},
};

bool
fib_feed_work(struct fib_feed *f, uint64_t now_ns, uint64_t deadline_ns)
{
	bool more = false;

	f->work_ns = now_ns;
	f->work_clock_ns = walk_clock();
	if (f->retry_due_ns != 0 && now_ns >= f->retry_due_ns)
		retry(f);
	for (unsigned i = 0; i < sizeof(activities) / sizeof(activities[0]); i++) {
		const struct activity *a = &activities[i];

		if (f->config.fib == NULL && !a->without_fib)
			continue;
		note_work(a->name);
		more |= a->work(f, deadline_ns);
	}
	/* an activity may have queued work for an earlier one */
	more |= !nexthop_settled(f->config.nexthops);
	if (f->config.fib == NULL)
		return more;
	more |= f->own_walk.state != OWN_WALK_NONE;
	note_work("commit of the forwarding tables");
	more = commit(f, now_ns, more);
	reports_send(f);
	note_work("audit");
	more |= fib_auditor_work(f->auditor, deadline_ns);
	path_lists_reclaim(f->path_lists);
	if (f->scarce && f->retry_due_ns == 0 && path_lists_in_use(f->path_lists) < BACKUPS_AGAIN)
		f->retry_due_ns = now_ns + FAILED_RETRY_NS;
	return more;
}

/*
 * Time until the workers are checked again: short at first, then longer, so that a grace period is
 * measured to a quarter of its length.
 */
static uint64_t
readers_retry_ns(const struct fib_feed *f, uint64_t now)
{
	uint64_t ns = (now - f->flip_clock_ns) / 4;

	return ns < READERS_RETRY_NS	   ? READERS_RETRY_NS
	       : ns > READERS_RETRY_MAX_NS ? READERS_RETRY_MAX_NS
					   : ns;
}

bool
fib_feed_reached(const struct fib_feed *f, uint64_t sequence)
{
	const struct feed_source *s = &f->source;

	return s->reader == JOURNAL_FOLLOWED && feed_walks_done(f) &&
	       journal_passed(s->cursor) >= sequence &&
	       (s->visible >= sequence ||
		       (s->visible == s->applied && fib_batch_count(f->config.fib) == 0));
}

static uint64_t
tables_wait_ns(const struct fib_feed *f) RUNS_ON(role_fib)
{
	uint64_t now = walk_clock(), retry = READERS_RETRY_NS;

	if (f->wait_readers)
		return readers_retry_ns(f, now);
	if (!fib_settled(f->config.fib)) {
		uint64_t due = commit_due(f, fib_batch_cost(f->config.fib));

		if (fib_batch_count(f->config.fib) > 0 && due > now + retry)
			return due - now;
		return retry;
	}
	if (fib_auditor_result(f->auditor)->running || reports_wait(f))
		return 1000000;
	if (f->retry_due_ns == 0)
		return 0;
	now = turn_now(f);
	return f->retry_due_ns > now + retry ? f->retry_due_ns - now : retry;
}

uint64_t
fib_feed_wait_ns(const struct fib_feed *f)
{
	uint64_t tables = f->config.fib != NULL ? tables_wait_ns(f) : 0, now = turn_now(f);
	uint64_t release = nexthop_release_ns(f->config.nexthops);

	if (release == UINT64_MAX)
		return tables;
	release = release > now ? release - now : 1;
	return tables == 0 || release < tables ? release : tables;
}

bool
fib_feed_drained(const struct fib_feed *f)
{
	const struct feed_source *s = &f->source;

	return feed_walks_done(f) && s->visible == s->applied &&
	       journal_passed(s->cursor) == journal_head(s->journal) &&
	       fib_batch_count(f->config.fib) == 0;
}

const struct hist *
fib_feed_update_hist(const struct fib_feed *f)
{
	return &f->update_hist;
}

const struct hist *
fib_feed_use_hist(const struct fib_feed *f)
{
	return &f->use_hist;
}

uint64_t
fib_feed_failed(const struct fib_feed *f)
{
	return atomic_load_explicit(&f->failed, memory_order_relaxed);
}

int
fib_feed_create(const struct fib_feed_config *config, struct fib_feed **out)
{
	static const uint8_t preference[SOURCE_COUNT] = {
		[SOURCE_CONNECTED] = 0,
		[SOURCE_STATIC] = 1,
		[SOURCE_EXTERNAL] = 20,
		[SOURCE_KERNEL] = 110,
		[SOURCE_INTERNAL] = 200,
	};
	struct fib_feed *f = arena_calloc(config->arena, sizeof(*f));
	struct nexthop_feed feed = {
		.route = fib_route_longest, .changed = fib_next_hop_changed, .ctx = f};
	int err;

	if (f == NULL)
		return -ENOMEM;
	f->config = *config;
	f->untracked_max = f->edges.most = UNTRACKED_MIN;
	f->swapped.at = SWAPPED_BUCKETS;
	memcpy(f->preference, preference, sizeof(preference));
	if (config->shard_count > 0) {
		shards_init(&f->source.shards, config->shards, config->shard_count);
		f->source.journal = shard_journal(config->shards[0]);
	}
	if (config->fib != NULL) {
		f->path_lists = fib_path_lists(config->fib);
		err = journal_subscribe(f->source.journal, &f->source.cursor);
		if (err != 0)
			goto fail;
		journal_set_patience(f->source.cursor, JOURNAL_WAIT);
		f->source.applied = f->source.visible = journal_passed(f->source.cursor);
		fib_feed_rewalk(f); /* for routes already in the RIB */
	}
	err = fib_auditor_create(f, &f->auditor);
	if (err != 0)
		goto fail;
	if (config->fib != NULL && config->report != NULL) {
		f->report = arena_calloc(config->arena, config->shard_count * sizeof(*f->report));
		err = -ENOMEM;
		if (f->report == NULL)
			goto fail;
	}
	nexthop_bind(config->nexthops, &feed);
	*out = f;
	return 0;

fail:
	fib_feed_destroy(f);
	return err;
}

void
fib_feed_destroy(struct fib_feed *f)
{
	role_enter_fib(); /* the thread has ended: the caller is the last user */
	if (f->source.cursor != NULL)
		journal_unsubscribe(f->source.journal, f->source.cursor);
	fib_own_fini(f);
	fib_swaps_fini(f);
	fib_edges_fini(f);
	nexthop_unbind(f->config.nexthops);
	fib_hops_fini(f);
	fib_auditor_destroy(f->auditor);
	arena_free(f->config.arena, f->pending);
	arena_free(f->config.arena, f->report);
	arena_free(f->config.arena, f);
}

/* ---- the audit ---- */

int
fib_feed_audit_begin(struct fib_feed *f, const struct vrf_id *only)
{
	return fib_auditor_begin(f->auditor, only);
}

const struct fib_audit *
fib_feed_audit(const struct fib_feed *f)
{
	return fib_auditor_result(f->auditor);
}

void
fib_feed_audit_progress(const struct fib_feed *f, uint64_t *done, uint64_t *total)
{
	fib_auditor_progress(f->auditor, done, total);
}
