/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/fib_feed.h"
#include "rib/fib_feed_impl.h"

#include "lpm/arena.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define READ_MAX 256          /* journal entries between two looks at the clock */
#define READERS_RETRY_NS 50000 /* a worker reports quiescent every few microseconds; a preempted one after some ms */

uint64_t
fib_feed_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

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
static struct hop *RUNS_ON(role_fib)
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

static void RUNS_ON(role_fib)
hop_drop(struct fib_feed *f, struct hop *h)
{
	struct hop **at = hop_bucket(f, &h->addr, h->port);

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	path_list_unref(f->path_lists, h->list);
	next_hop_unref(f->path_lists, h->next_hop);
	arena_free(f->config.arena, h);
}

struct local_route *
fib_feed_local_find(const struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct local_route *l;

	if (f->local_lens[p->len] == 0)
		return NULL;
	l = f->locals[prefix_hash(p) % LOCAL_BUCKETS];
	while (l != NULL && (l->vrf.v != vrf.v || !prefix_equal(&l->prefix, p)))
		l = l->next;
	return l;
}

bool
fib_feed_list_of(struct fib_feed *f, const struct feed_source *s, struct vrf_id vrf,
	const struct dest_view *view, struct path_list_id *out)
{
	const struct attr_set *attrs;
	struct hop *h;
	uint16_t port;

	if (view->paths == NULL || view->paths->eligible == 0 || view->paths->path[0].peer.v == PEER_SELF.v)
		return false;
	attrs = attr_get(shard_attrs(s->shard), view->paths->path[0].accepted);
	if (attrs == NULL || nexthop_port(f->config.nexthops, vrf, &attrs->next_hop, &port) != 0)
		return false;
	h = hop_get(f, vrf, &attrs->next_hop, port);
	if (h == NULL) {
		atomic_fetch_add_explicit(&f->failed, 1, memory_order_relaxed);
		return false;
	}
	if (!h->wanted) {
		h->wanted = true;
		f->config.resolve(f->config.resolve_ctx, port, &attrs->next_hop);
	}
	*out = h->list;
	return true;
}

/* Puts a destination's best path into the open batch. False: it has none, so that a withdrawal is due (in its order). */
static bool RUNS_ON(role_fib)
apply(struct fib_feed *f, struct feed_source *s, struct vrf_id vrf, const struct dest_view *view)
{
	struct path_list_id list;

	if (fib_feed_local_find(f, vrf, &view->prefix) != NULL)
		return true; /* the host's own route stays, whatever the RIB has */
	if (!fib_feed_list_of(f, s, vrf, view, &list))
		return false;
	if (fib_set(f->config.fib, vrf, &view->prefix, list) != 0)
		atomic_fetch_add_explicit(&f->failed, 1, memory_order_relaxed);
	return true;
}

static bool
forwards(enum family family)
{
	return family == FAMILY_IPV4_UNICAST;
}

/* The RIB's own state of a prefix, after a local route let go of it. */
static void RUNS_ON(role_fib)
restore(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];
		struct table_id table;
		struct dest_id id;
		struct dest_view view;

		if (shard_table_find(s->shard, vrf, FAMILY_IPV4_UNICAST, &table) != 0)
			continue;
		id = dest_find(shard_table(s->shard, table), p);
		if (id.v != DEST_NONE && dest_peek(shard_table(s->shard, table), id, &view))
			apply(f, s, vrf, &view);
	}
}

static int RUNS_ON(role_fib)
local_add(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p, struct path_list_id list)
{
	struct local_route *l = fib_feed_local_find(f, vrf, p);
	struct local_route **bucket = &f->locals[prefix_hash(p) % LOCAL_BUCKETS];
	int err;

	if (l != NULL && l->list.v == list.v) {
		l->users++;
		path_list_unref(f->path_lists, list);
		return 0;
	}
	if (l == NULL) {
		l = arena_calloc(f->config.arena, sizeof(*l));
		if (l == NULL) {
			path_list_unref(f->path_lists, list);
			return -ENOMEM;
		}
		*l = (struct local_route){.next = *bucket, .vrf = vrf, .prefix = *p};
		*bucket = l;
		f->local_lens[p->len]++;
	} else {
		path_list_unref(f->path_lists, l->list); /* another port has it now: the newest counts */
	}
	l->list = list;
	l->users++;
	err = fib_set(f->config.fib, vrf, p, list);
	if (err != 0)
		atomic_fetch_add_explicit(&f->failed, 1, memory_order_relaxed);
	return err;
}

static void RUNS_ON(role_fib)
local_remove(struct fib_feed *f, struct vrf_id vrf, const struct prefix *p)
{
	struct local_route **at = &f->locals[prefix_hash(p) % LOCAL_BUCKETS];
	struct local_route *l = fib_feed_local_find(f, vrf, p);

	if (l == NULL || --l->users > 0)
		return;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	f->local_lens[p->len]--;
	fib_withdraw(f->config.fib, vrf, p);
	path_list_unref(f->path_lists, l->list);
	arena_free(f->config.arena, l);
	restore(f, vrf, p);
}

/* Ports of next hops may have changed: everything present is put in again. */
static void
rewalk_all(struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];

		s->rewalk = REWALK_SET;
		s->all = true;
		s->rewalk_table = 0;
		s->walk = (struct walk){0};
	}
}

static int RUNS_ON(role_fib)
subnet_routes(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet, const struct prefix *host,
	uint16_t port, bool up)
{
	struct path_list_id glean, punt;
	int err;

	if (!up) {
		local_remove(f, vrf, host);
		local_remove(f, vrf, subnet);
		return 0;
	}
	err = path_list_get(f->path_lists, PATH_LIST_GLEAN, port, NULL, 0, &glean);
	if (err != 0)
		return err;
	err = path_list_get(f->path_lists, PATH_LIST_PUNT, PORT_NONE, NULL, 0, &punt);
	if (err != 0) {
		path_list_unref(f->path_lists, glean);
		return err;
	}
	err = local_add(f, vrf, subnet, glean);
	return local_add(f, vrf, host, punt) != 0 ? -ENOMEM : err;
}

int
fib_feed_connected(struct fib_feed *f, struct vrf_id vrf, const struct prefix *subnet,
	const struct ip_addr *local, uint16_t port, bool up)
{
	struct prefix host = prefix_from_addr(local, (uint8_t)prefix_max_len(local->afi));
	int err = 0;

	nexthop_local(f->config.nexthops, vrf, local, up);
	if (up)
		nexthop_connected_add(f->config.nexthops, vrf, subnet, port);
	else
		nexthop_connected_remove(f->config.nexthops, vrf, subnet, port);
	if (f->config.fib == NULL || subnet->afi != AFI_IPV4 || port == PORT_NONE)
		return 0;
	err = subnet_routes(f, vrf, subnet, &host, port, up);
	rewalk_all(f);
	return err;
}

int
fib_feed_neighbor(struct fib_feed *f, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	const struct adjacency *adj)
{
	struct prefix host = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
	struct hop *h;
	int err;

	if (f->config.fib == NULL || addr->afi != AFI_IPV4)
		return 0;
	h = adj != NULL ? hop_get(f, vrf, addr, port) : hop_find(f, vrf, addr, port);
	if (h == NULL)
		return adj != NULL ? -ENOMEM : 0;
	if (adj != NULL) {
		err = next_hop_up(f->path_lists, h->next_hop, adj);
		if (err != 0 || h->resolved)
			return err;
		h->resolved = true;
		path_list_ref(f->path_lists, h->list);
		return local_add(f, vrf, &host, h->list);
	}
	next_hop_down(f->path_lists, h->next_hop, NEXT_HOP_UNRESOLVED);
	if (h->resolved) {
		h->resolved = false;
		local_remove(f, vrf, &host);
	}
	if (h->wanted)
		f->config.resolve(f->config.resolve_ctx, port, addr); /* routes still lead there */
	else
		hop_drop(f, h);
	return 0;
}

void
fib_feed_port_down(struct fib_feed *f, uint16_t port)
{
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

static void RUNS_ON(role_fib)
apply_entry(struct fib_feed *f, struct feed_source *s, const struct journal_entry *e)
{
	struct dest_view view;
	struct vrf_id vrf;
	enum family family;

	shard_table_key(s->shard, e->table, &vrf, &family);
	if (!forwards(family) || !dest_peek(shard_table(s->shard, e->table), e->dest, &view))
		return;
	if (!apply(f, s, vrf, &view) && journal_may_withdraw(s->cursor, e, &view))
		fib_withdraw(f->config.fib, vrf, &view.prefix); /* -ENOENT: it never was there */
}

static void
lapped(struct feed_source *s)
{
	journal_pin(s->cursor);
	s->reach_back = journal_resume(shard_journal(s->shard), s->cursor);
	s->rewalk = REWALK_SET;
	s->lapped = true;
	s->rewalk_table = 0;
	s->walk = (struct walk){0};
}

/* True while there is more. Stops at a full batch. */
static bool RUNS_ON(role_fib)
journal_drain(struct fib_feed *f, struct feed_source *s, uint64_t deadline_ns)
{
	struct journal *j = shard_journal(s->shard);
	struct journal_entry entries[READ_MAX];
	int n;

	while (fib_batch_count(f->config.fib) < f->config.batch_max) {
		n = journal_read(j, s->cursor, entries, READ_MAX);
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
		if (fib_feed_now() >= deadline_ns)
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
static void RUNS_ON(role_fib)
rewalk_empty(struct rewalk_context *c, const struct dest_view *view)
{
	struct feed_source *s = c->s;

	if (s->rewalk == REWALK_SET)
		journal_passed_over(shard_journal(s->shard), s->cursor, view);
	else if ((int32_t)(view->sequence - (uint32_t)s->reach_back) <= 0)
		fib_withdraw(c->f->config.fib, c->vrf, &view->prefix);
}

static bool RUNS_ON(role_fib)
rewalk_visit(void *ctx, struct dest_id id, const struct dest_view *view)
{
	struct rewalk_context *c = ctx;
	bool young = (int32_t)(view->sequence - (uint32_t)c->s->reach_back) > 0;

	/* What has not changed since the place where we fell off is there already; when ports changed all is looked at. */
	if (c->s->rewalk == REWALK_SET && !c->s->all && !young)
		return true;
	if (!apply(c->f, c->s, c->vrf, view))
		rewalk_empty(c, view);
	return fib_batch_count(c->f->config.fib) < c->f->config.batch_max;
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
	if (s->rewalk == REWALK_SET && s->lapped) {
		s->rewalk = REWALK_SETTLE;
		return;
	}
	s->rewalk = REWALK_NONE;
	if (s->lapped) {
		s->lapped = false;
		journal_unpin(s->cursor);
	}
}

static bool RUNS_ON(role_fib)
rewalk_slice(struct fib_feed *f, struct feed_source *s, uint64_t deadline_ns)
{
	struct table_id table = {(uint16_t)s->rewalk_table};
	struct rewalk_context c = {.f = f, .s = s};
	enum family family;

	if (shard_table_count(s->shard) == 0) {
		s->rewalk = REWALK_NONE;
		return false;
	}
	shard_table_key(s->shard, table, &c.vrf, &family);
	if (!forwards(family)) {
		rewalk_next(s);
		return true;
	}
	if (s->walk.table == NULL)
		walk_begin(&s->walk, shard_table(s->shard, table));
	if (!walk_slice(&s->walk, UINT32_MAX, deadline_ns, fib_feed_now, rewalk_visit, &c))
		rewalk_next(s);
	return true;
}

/* ---- commit ---- */

static void RUNS_ON(role_fib)
became_visible(struct fib_feed *f)
{
	for (unsigned i = 0; i < f->config.shard_count; i++) {
		struct feed_source *s = &f->sources[i];
		uint64_t received;

		if (s->visible == s->applied)
			continue;
		received = shard_received_ns(s->shard, s->applied);
		s->visible = s->applied;
		if (received != 0)
			hist_add(&f->update_hist, fib_feed_now() - received);
	}
}

/* True: again at once. */
static bool RUNS_ON(role_fib)
commit(struct fib_feed *f, uint64_t now_ns, bool more)
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

bool
fib_feed_work(struct fib_feed *f, uint64_t now_ns, uint64_t deadline_ns)
{
	bool more = false;

	if (f->config.fib == NULL)
		return false;
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
	more = commit(f, now_ns, more);
	if (f->audit.running)
		more |= fib_audit_work(f, deadline_ns);
	path_lists_reclaim(f->path_lists);
	return more;
}

uint64_t
fib_feed_wait_ns(const struct fib_feed *f)
{
	uint64_t now = fib_feed_now();

	if (f->config.fib == NULL)
		return 0;
	if (f->wait_readers || !fib_settled(f->config.fib)) {
		if (fib_batch_count(f->config.fib) > 0 && f->commit_due_ns > now + READERS_RETRY_NS)
			return f->commit_due_ns - now;
		return READERS_RETRY_NS;
	}
	return f->audit.running ? 1000000 : 0;
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
	return fib_batch_count(f->config.fib) == 0;
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
			err = journal_subscribe(shard_journal(config->shards[i]), &f->sources[i].cursor);
			if (err != 0)
				goto fail;
			f->sources[i].applied = f->sources[i].visible = journal_passed(f->sources[i].cursor);
		}
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
			journal_unsubscribe(shard_journal(f->sources[i].shard), f->sources[i].cursor);
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
	arena_free(f->config.arena, f->sources);
	arena_free(f->config.arena, f);
}
