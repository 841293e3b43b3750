/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/session.h"

#include "control/base/log.h"
#include "control/session/session_impl.h"

#include "rib/table/adj_rib_out.h"
#include "lpm/base/note_work.h"
#include "lpm/base/qsbr.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t
speaker_random(struct speaker *s) RUNS_ON(role_session)
{
	s->random += 0x9e3779b97f4a7c15u;
	return (uint32_t)(hash_mix(s->random) >> 32);
}

uint64_t
speaker_jitter(struct speaker *s, uint64_t ns, unsigned less_percent, unsigned more_percent)
{
	uint64_t span = ns / 100 * (less_percent + more_percent);

	ns -= ns / 100 * less_percent;
	return ns + (uint64_t)((double)span * speaker_random(s) / UINT32_MAX);
}

const struct hash_probes *
speaker_exported_probes(const struct speaker *s)
{
	return adj_records_probes(s->records);
}

struct peer *
peer_find(const struct speaker *s, struct peer_id id)
{
	return id.v < PEER_MAX ? s->by_id[id.v] : NULL;
}

/* ---- lifetime ---- */

static void
retry_fire(struct timer *t)
{
	/* Only wakes the loop: speaker_work() asks for batches again. */
	container_of(t, struct speaker, retry)->starved = false;
}

/* Only wakes the loop: speaker_work() calls update_groups_news(). */
static void
pass_fire(struct timer *t)
{
	(void)t;
}

int
speaker_create(const struct speaker_config *c, struct speaker **out)
{
	struct speaker *s = arena_calloc(c->arena, sizeof(*s));
	int err = -ENOMEM;

	if (s == NULL)
		return -ENOMEM;
	s->config = *c;
	ring_init(&s->ready);
	ring_init(&s->established);
	s->created_ns = now_ns();
	s->restarting = c->restarted;
	ring_init(&s->exports);
	ring_init(&s->lives);
	ring_init(&s->rt.keepers);
	ring_init(&s->owing);
	ring_init(&s->leaving);
	streams_init(s);
	input_init(s);
	s->retry.fire = retry_fire;
	s->pass_timer.fire = pass_fire;
	limits_init(s);
	links_init(s);
	slow_init(s);
	pace_init(s);
	s->random = now_ns() ^ (uint64_t)c->router_id << 32;
	s->attrs = arena_alloc(c->arena, ATTR_SET_MAX);
	s->packed[0] = arena_alloc(c->arena, ATTR_PACKED_MAX);
	s->packed[1] = arena_alloc(c->arena, ATTR_PACKED_MAX);
	s->vpn_nlri = arena_alloc(c->arena, VPN_NLRI_MAX);
	if (s->attrs == NULL || s->packed[0] == NULL || s->packed[1] == NULL || s->vpn_nlri == NULL)
		goto fail;
	err = buffers_init(s);
	if (err < 0)
		goto fail;
	err = adj_records_create(c->arena, &s->records);
	if (err < 0)
		goto fail;
	err = labels_init(s);
	if (err < 0)
		goto fail;
	err = qsbr_register(c->readers, &s->reader);
	if (err < 0)
		goto fail;
	*out = s;
	return 0;
fail:
	adj_records_destroy(s->records);
	labels_fini(s);
	buffers_fini(s);
	arena_free(c->arena, s->attrs);
	arena_free(c->arena, s->packed[0]);
	arena_free(c->arena, s->packed[1]);
	arena_free(c->arena, s->vpn_nlri);
	arena_free(c->arena, s);
	return err;
}

int
speaker_start(void *ctx, struct thread *self)
{
	struct speaker *s = ctx;

	s->thread = self;
	return labels_start(s);
}

/* ---- lists ---- */

static unsigned
address_bucket(struct vrf_id vrf, const struct ip_addr *addr)
{
	return (unsigned)(addr_hash(addr, vrf.v) % ADDRESS_BUCKETS);
}

struct peer *
address_first(const struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	return s->by_address[address_bucket(vrf, addr)];
}

void
peer_ready(struct peer *p)
{
	if (p->ready.next != NULL)
		return;
	ring_insert(&p->speaker->ready, &p->ready);
	p->speaker->ready_count++;
}

void
peer_export_due(struct peer *p)
{
	if (p->up != NULL && p->exports.next == NULL)
		ring_insert(&p->speaker->exports, &p->exports);
}

void
member_due(void *ctx, struct peer_id id)
{
	peer_export_due(peer_find(ctx, id));
}

static void
address_link(struct speaker *s, struct peer *p)
{
	struct peer **bucket = &s->by_address[address_bucket(p->config.vrf, &p->config.addr)];

	p->next_of_address = *bucket;
	*bucket = p;
	in_use_begin(&p->next_of_address, IN_USE_NODE, NULL);
}

static void
address_unlink(struct speaker *s, struct peer *p)
{
	struct peer **at = &s->by_address[address_bucket(p->config.vrf, &p->config.addr)];

	while (*at != p)
		at = &(*at)->next_of_address;
	*at = p->next_of_address;
	in_use_end(&p->next_of_address, IN_USE_NODE, NULL);
}

/* Takes the peer out of all lists of the speaker. */
static void
peer_unlink(struct speaker *s, struct peer *p)
{
	address_unlink(s, p);
	s->ready_count -= ring_remove(&p->ready);
	ring_remove(&p->established);
	ring_remove(&p->exports);
	ring_remove(&p->lives);
	ring_remove(&p->owing);
	ring_remove(&p->leaving);
	ring_remove(&p->slow_ring);
	s->by_id[p->id.v] = NULL;
	limit_forget(p);
}

bool
session_event_reserved(const struct session_event *e)
{
	return e->kind != SESSION_REFRESH_SENT &&
	       (e->kind == SESSION_UP || e->kind == SESSION_DOWN || e->kind == SESSION_DYNAMIC ||
		       e->kind == SESSION_DYNAMIC_GONE || e->kind == SESSION_SLOW ||
		       e->kind == SESSION_SLOW_END || e->job != 0);
}

int
event_reserve(struct speaker *s, unsigned count)
{
	return s->config.event_reserve != NULL ? s->config.event_reserve(s->config.ctx, count) : 0;
}

void
event_release(struct speaker *s, unsigned count)
{
	if (s->config.event_release != NULL && count > 0)
		s->config.event_release(s->config.ctx, count);
}

static unsigned
jobs_reserved(const struct refresh_jobs *j)
{
	unsigned n = 0;

	for (unsigned i = 0; i < j->count; i++)
		n += j->job[i].id != 0;
	return n;
}

static void
peer_free(struct speaker *s, struct peer *p)
{
	unsigned jobs = 0;

	peer_timers_end(p);
	peer_unlink(s, p);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		jobs += jobs_reserved(&p->family[f].import_jobs);
		jobs += jobs_reserved(&p->family[f].export_jobs);
		jobs += jobs_reserved(&p->family[f].policy_jobs);
	}
	event_release(s, jobs + p->gone_reserved + p->down_reserved);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		arena_free(s->config.arena, p->family[f].import_jobs.job);
		arena_free(s->config.arena, p->family[f].export_jobs.job);
		arena_free(s->config.arena, p->family[f].policy_jobs.job);
		arena_free(s->config.arena, p->family[f].answered_at);
	}
	rt_free(p);
	peer_faults_free(p);
	monitor_changed(p);
	message_forget(s, &p->fall_message);
	for (unsigned i = 0; i < CONN_COUNT; i++) {
		message_forget(s, &p->conn[i].open_sent);
		message_forget(s, &p->conn[i].open_received);
	}
	arena_free(s->config.arena, p);
}

static void
peers_stop(struct speaker *s) RUNS_ON(role_session)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_ADMIN_SHUTDOWN};

	for (unsigned i = 0; i < PEER_MAX; i++) {
		struct peer *p = s->by_id[i];

		if (p == NULL)
			continue;
		restart_leave(p);
		peer_stop(p, &note);
		peer_timers_end(p);
	}
}

void
speaker_stop(void *ctx)
{
	struct speaker *s = ctx;

	role_enter_session();
	qsbr_online(s->config.readers, s->reader);
	listeners_close(s);
	held_close(s);
	peers_stop(s);
	lingerers_close(s);
	leftovers_run(s, UINT64_MAX);
	input_push(s);
	timer_cancel(s->thread, &s->retry);
	timer_cancel(s->thread, &s->limits);
	timer_cancel(s->thread, &s->links.timer);
	timer_cancel(s->thread, &s->slow_timer);
	timer_cancel(s->thread, &s->poll);
	timer_cancel(s->thread, &s->pace_timer);
	timer_cancel(s->thread, &s->pass_timer);
	timer_cancel(s->thread, &s->tidy);
	timer_cancel(s->thread, &s->labels.tidy);
	input_end(s);
	qsbr_offline(s->config.readers, s->reader);
}

void
speaker_destroy(struct speaker *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < PEER_MAX; i++) {
		if (s->by_id[i] != NULL)
			peer_free(s, s->by_id[i]);
	}
	qsbr_unregister(s->config.readers, s->reader);
	update_groups_destroy(s->groups);
	adj_records_destroy(s->records);
	labels_fini(s);
	links_fini(s);
	rt_fini(s);
	buffers_fini(s);
	arena_free(s->config.arena, s->ranges);
	arena_free(s->config.arena, s->attrs);
	arena_free(s->config.arena, s->packed[0]);
	arena_free(s->config.arena, s->packed[1]);
	arena_free(s->config.arena, s->vpn_nlri);
	arena_free(s->config.arena, s);
}

void
speaker_idle(void *ctx)
{
	struct speaker *s = ctx;

	qsbr_offline(s->config.readers, s->reader);
}

void
speaker_busy(void *ctx)
{
	struct speaker *s = ctx;

	qsbr_online(s->config.readers, s->reader);
}

/* ---- the loop ---- */

/*
 * Handles input of the ready peers in rounds until the deadline. All peers get equal shares, so
 * that a flood from one peer does not delay the rest, and UPDATEs of several peers for one
 * destination arrive close together. True: the deadline came first.
 *
 * A share is INPUT_OCTETS, or INPUT_NS of work for a shard. The next turn begins with the first peer
 * with an unfinished share, for lack of a batch or of time, and handles the rest of the share.
 */
static bool
work_input(struct speaker *s, uint64_t now, uint64_t deadline_ns) RUNS_ON(role_session)
{
	struct ring *first = NULL;
	unsigned idle = 0;

	if (!input_settle(s))
		return false;
	while (idle < s->ready_count) {
		struct peer *p = container_of(s->ready.next, struct peer, ready);
		bool more = false, waits;

		/* Rotate before handling the messages, since messages may make more peers ready. */
		ring_remove(&p->ready);
		ring_insert(&s->ready, &p->ready);
		for (unsigned i = 0; i < CONN_COUNT; i++)
			more |= connection_input(&p->conn[i], now, deadline_ns);
		waits = p->conn[CONN_OUT].waiting || p->conn[CONN_IN].waiting;
		if (!more && !waits) {
			if (first == &p->ready)
				first = NULL;
			ring_remove(&p->ready);
			s->ready_count--;
			p->share = (struct input_share){0};
		} else if (share_is_used(p)) {
			idle = 0;
			p->share = (struct input_share){0};
		} else {
			idle = more ? 0 : idle + 1;
			if (first == NULL && (more || s->starved))
				first = &p->ready;
		}
		if (now_ns() >= deadline_ns)
			break;
	}
	if (first != NULL)
		ring_rotate(&s->ready, first);
	return idle < s->ready_count;
}

static void
member_live(void *ctx, struct peer_id id)
{
	struct peer *p = peer_find(ctx, id);

	if (p->up != NULL && p->lives.next == NULL)
		ring_insert(&p->speaker->lives, &p->lives);
}

#define LIVE_SLICE_NS 2000000u

/*
 * Live changes for groups that have bulk in front: between two peers, so that a change waits for no round of exports. In slices, with a rest of the same
 * length, so that bulk keeps half of the time.
 */
static void
export_live(struct speaker *s) RUNS_ON(role_session)
{
	uint64_t now = now_ns(), end = now + LIVE_SLICE_NS, rest;

	s->live_left =
		s->groups != NULL && (!ring_empty(&s->lives) || update_groups_live_due(s->groups));
	if (!s->live_left || now < s->live_ns)
		return;
	if (ring_empty(&s->lives))
		(void)update_groups_live(s->groups, end, member_live, s);
	while (!ring_empty(&s->lives) && now_ns() < end) {
		struct peer *p = container_of(s->lives.next, struct peer, lives);

		ring_remove(&p->lives);
		export_run_live(p);
	}
	s->live_left = !ring_empty(&s->lives) || update_groups_live_due(s->groups);
	rest = now_ns() - now;
	s->live_ns = now_ns() + (rest < LIVE_SLICE_NS ? rest : LIVE_SLICE_NS);
}

/*
 * Exports to the peers that are due at the call: to those whose last turn left something to send
 * (`more`), or to all others. Each peer gets half of the remaining time, with a minimum, so that a
 * long export to one peer does not delay a short one to the next. Peers that the deadline leaves
 * out stay due, so each pass goes on where the last pass ended, however many peers there are.
 */
static void
export_due(struct speaker *s, bool more, uint64_t deadline_ns) RUNS_ON(role_session)
{
	struct ring *last = s->exports.prev;

	while (!ring_empty(&s->exports)) {
		struct peer *p = container_of(s->exports.next, struct peer, exports);
		bool ends = &p->exports == last;

		export_live(s);
		if (p->exports.next == NULL || last->next == NULL) /* a session has ended */
			return;
		ring_remove(&p->exports);
		if (p->export_more != more) {
			ring_insert(&s->exports, &p->exports);
		} else {
			export_run(p, update_share(deadline_ns));
			if (now_ns() >= deadline_ns)
				return;
		}
		if (ends)
			return;
	}
}

#ifdef __SANITIZE_ADDRESS__
/*
 * In builds with ASan: no peer has something to send without being due, waiting for its socket, for
 * a timer, or for the pass of other tables' entries. `head`: the end of the journal that the pass has seen; shards may append meanwhile.
 */
static void
export_check(const struct speaker *s, const struct journal *j, uint64_t head) RUNS_ON(role_session)
{
	const struct peer *p;

	RING_EACH(p, &s->established, established)
	{
		for (unsigned f = 0; f < FAMILY_COUNT; f++) {
			const struct peer_family *k = &p->family[f];

			assert(k->group == NULL || p->exports.next != NULL || p->export_more ||
				k->spread.deadline_ns != 0 ||
				update_groups_pass_ns(s->groups) != 0 ||
				!update_member_pending(k->group) || journal_head(j) != head);
		}
	}
}
#endif

/*
 * Most wake-ups concern one peer: only peers that are due get a turn. Changes of the journal and of
 * groups concern the members of one table.
 *
 * Peers that were sent everything come first, so that a live change does not wait for the whole
 * tables of other peers. The other peers get a quarter of the time. True: there is more to do.
 */
static bool
work_export(struct speaker *s, uint64_t now, uint64_t deadline_ns) RUNS_ON(role_session)
{
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	const struct journal *j = shard_journal(s->shards.at[0]);
	uint64_t head __attribute__((unused)) = journal_head(j); /* for export_check() */
	bool all = s->export_all || journal_pressed(j);
	struct peer *p;

	s->export_all = false;
	if (s->groups != NULL)
		update_groups_news(s->groups, member_due, s);
	if (all)
		RING_EACH(p, &s->established, established)
		{
			peer_export_due(p);
		}
	export_live(s);
	export_due(s, false, deadline_ns - left / 4);
	export_due(s, true, deadline_ns);
#ifdef __SANITIZE_ADDRESS__
	if (!s->export_all)
		export_check(s, j, head);
#endif
	return s->export_all || s->live_left || !ring_empty(&s->exports);
}

static void
pass_wait(struct speaker *s, uint64_t now) RUNS_ON(role_session)
{
	uint64_t at = s->groups != NULL ? update_groups_pass_ns(s->groups) : 0;

	if (at != 0)
		timer_arm_sooner(s->thread, &s->pass_timer, at > now ? at - now : 0);
}

/*
 * True if the shards have handled all records of a removed peer. Until then a shard may hold routes
 * of its last session.
 */
static bool
shards_handled(struct speaker *s, struct peer *p) RUNS_ON(role_session)
{
	if (!p->settled)
		input_mark(s, p->settled_at);
	p->settled = true;
	return input_did(s, p->settled_at);
}

/* Frees the removed peers whose last records the shards have handled. */
static void
removed_free(struct speaker *s) RUNS_ON(role_session)
{
	struct peer *p;

	RING_EACH(p, &s->leaving, leaving)
	{
		if (!peer_owes(p) && shards_handled(s, p))
			peer_free(s, p);
	}
}

/*
 * Wakes a waiting walk after half of its allowed lead has been read, so that walk and readers work
 * in parallel.
 */
static void
walks_resume(struct speaker *s) RUNS_ON(role_session)
{
	int shard = journal_waiter(shard_journal(s->shards.at[0]), SHARD_PACE_ENTRIES / 2);

	if (shard >= 0)
		s->config.wake_shard(s->config.ctx, (unsigned)shard, false);
}

/* Unread entries of the slowest group. 0: exports have nothing to do, or the receivers of the slowest group have read nothing for LAG_PATIENCE_NS. */
static uint64_t
export_lag(struct speaker *s, uint64_t now) RUNS_ON(role_session)
{
	const struct journal *j = shard_journal(s->shards.at[0]);
	uint64_t position;

	if (!s->export_left || s->ready_count == 0)
		s->lag.entries = 0;
	else if (s->turn % LAG_TURNS == 0) {
		s->lag.entries = journal_lag(j, &position);
		if (position != s->lag.position)
			s->lag.since_ns = now;
		s->lag.position = position;
	}
	if (s->lag.entries >= journal_capacity(j) || now - s->lag.since_ns >= LAG_PATIENCE_NS)
		return 0;
	return s->lag.entries;
}

/*
 * Input has 5/8 of a turn. From a lag of a quarter of the journal on, input has less, down to 1 / INPUT_LEAST at three quarters: a lapped group walks over the
 * whole table alone. Each piece of input has a few messages at least; time beyond the limit is missing in the next turns.
 * `now`: of the turn. Exports compare it with the times that input stores.
 */
static bool
turn_input(struct speaker *s, uint64_t now, uint64_t turn_ns) RUNS_ON(role_session)
{
	uint64_t capacity = journal_capacity(shard_journal(s->shards.at[0]));
	uint64_t lag = export_lag(s, now), most = capacity / 4 * 3, begin;
	int64_t full = (int64_t)(turn_ns * 5 / 8), least = (int64_t)turn_ns / INPUT_LEAST, ns;
	bool more;

	if (lag <= capacity / 4) {
		s->lag.credit_ns = 0;
		return work_input(s, now, now + (uint64_t)full);
	}
	begin = now_ns();
	ns = lag < most ? full * (int64_t)(most - lag) / (int64_t)(most - capacity / 4) : 0;
	if (ns < least)
		ns = least;
	s->lag.credit_ns += ns;
	if (s->lag.credit_ns > ns)
		s->lag.credit_ns = ns; /* unused time is not kept */
	if (s->lag.credit_ns <= 0)
		return true;
	more = work_input(s, now, begin + INPUT_LEAST_NS + (uint64_t)s->lag.credit_ns);
	s->lag.credit_ns -= (int64_t)(now_ns() - begin);
	if (s->lag.credit_ns < -(int64_t)turn_ns)
		s->lag.credit_ns = -(int64_t)turn_ns; /* the thread was interrupted */
	return more;
}

bool
speaker_work(void *ctx, uint64_t now, uint64_t deadline_ns)
{
	struct speaker *s = ctx;
	bool more;

	role_enter_session();
	/* No pointers into the shard's tables are held between slices. */
	qsbr_quiescent(s->config.readers, s->reader);
	s->starved = false;
	s->turn++;
	note_work("freeing update groups");
	more = leftovers_run(s, now + (deadline_ns - now) / 4);
	note_work("decoding UPDATEs");
	more |= turn_input(s, now, deadline_ns - now);
	input_push_run(s);
#ifdef __SANITIZE_ADDRESS__
	assert(s->loading_ns <= now); /* the difference below is unsigned */
#endif
	/*
	 * Without memory an export would end the session of its receiver: exports wait until the
	 * peer with the most memory is flushed. RFC 4724 4.1: exports also wait for the tables of
	 * the peers after a restart.
	 */
	if (!arena_is_short())
		rt_work(s);
	if (!arena_is_short() && !s->restarting) {
		note_work("update groups");
		if (s->groups != NULL) {
			uint64_t whole = input_whole(s, now);

			update_groups_gather(s->groups, now, now - s->loading_ns < LOADING_NS);
			update_groups_whole(s->groups, whole);
		}
		note_work("export to peers");
		s->export_left = work_export(s, now_ns(), deadline_ns);
		more |= s->export_left;
		pass_wait(s, now);
	} else {
		s->export_left = false;
		s->export_all = true;
	}
	labels_send(s);
	note_work("freeing removed peers");
	removed_free(s);
	walks_resume(s);
	/* No batch was free; the shard returns one soon. Retrying at once would be a busy loop. */
	if (s->starved && s->retry.deadline_ns == 0)
		timer_arm(s->thread, &s->retry, BATCH_RETRY_NS);
	if (more)
		hist_add(&s->turns, now_ns() - now);
	return more;
}

/* ---- configuration ---- */

static void
config_copy(struct peer *p, const struct config_peer *c, const struct session_policies *policies)
	RUNS_ON(role_session)
{
	p->config = *c;
	p->config.passive |= c->dynamic;
	snprintf(p->vrf_name, sizeof(p->vrf_name), "%s",
		c->vrf_name != NULL ? c->vrf_name : "default");
	p->config.vrf_name = p->vrf_name;
	p->config.group_key = policy_group_key(c->group);
	p->config.group = p->config.description = p->config.password = NULL;
	if (c->password != NULL) {
		snprintf(p->password, sizeof(p->password), "%s", c->password);
		p->config.password = p->password;
	}
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p->config.families[f].import_policy = p->config.families[f].export_policy = NULL;
	p->policies = *policies;
	limit_config(p);
}

int
session_add(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *policies)
{
	struct peer *p;

	if (id.v == 0 || id.v >= PEER_MAX)
		return -EINVAL;
	if (s->by_id[id.v] != NULL)
		return -EEXIST;
	p = arena_calloc(s->config.arena, sizeof(*p));
	if (p == NULL || event_reserve(s, 1) != 0) {
		arena_free(s->config.arena, p);
		return -ENOMEM;
	}
	p->gone_reserved = true;
	p->speaker = s;
	p->id = id;
	config_copy(p, c, policies);
	p->as_from_open = c->asn == 0;
	peer_init(p);
	address_link(s, p);
	s->by_id[id.v] = p;
	if (c->password != NULL)
		listen_password(s, c->vrf, &c->addr);
	if (c->tcp_mss != 0)
		listen_tcp_mss(s, c->vrf, c->addr.afi, c->tcp_mss);
	if (!c->shutdown)
		peer_start(p);
	held_take(p);
	return 0;
}

void
session_remove(struct speaker *s, struct peer_id id)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_PEER_DECONFIGURED};
	struct peer *p = peer_find(s, id);

	if (p == NULL || p->removed)
		return;
	peer_stop(p, &note);
	p->removed = true;
	ring_insert(&s->leaving, &p->leaving);
	if (p->config.password != NULL)
		listen_password(s, p->config.vrf, &p->config.addr);
	if (p->config.tcp_mss != 0)
		listen_tcp_mss(s, p->config.vrf, p->config.addr.afi, 0);
	input_push(s);
	removed_free(s);
}

bool
session_gone(const struct speaker *s, struct peer_id id)
{
	return peer_find(s, id) == NULL;
}

/* Applies `c` without a reset. False: a reset is needed. */
static bool
update_stays(struct peer *p, const struct config_peer *c, const struct session_policies *policies)
	RUNS_ON(role_session)
{
	struct config_peer old = p->config;
	unsigned families = 0;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		families |= (p->family[f].group != NULL) << f;
	if (config_peer_resets(&old, c, families))
		return false;
	session_export_policies(p->speaker, p->id, policies);
	config_copy(p, c, policies);
	if (limit_changed(&old, c)) {
		limit_again(p);
		if (p->held)
			peer_start(p);
	}
	slow_config(p);
	links_config(p);
	if (old.passive != c->passive)
		peer_passive_changed(p);
	export_rules(p);
	return true;
}

bool
session_update(struct speaker *s, struct peer_id id, const struct config_peer *c,
	const struct session_policies *policies)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_CONFIG_CHANGE};
	struct peer *p = peer_find(s, id);
	struct config_peer next = *c;
	bool was_up;

	if (p == NULL || p->removed)
		return false;
	p->as_from_open = c->asn == 0;
	if (p->as_from_open) { /* as in the OPEN of the current session */
		next.asn = p->config.asn;
		next.external = p->config.external;
	}
	was_up = p->up != NULL;
	if (update_stays(p, &next, policies))
		return false;
	if (c->shutdown)
		note.subcode = CEASE_ADMIN_SHUTDOWN;
	peer_stop(p, &note);
	address_unlink(s, p);
	config_copy(p, c, policies);
	address_link(s, p);
	listen_password(s, c->vrf, &c->addr);
	listen_tcp_mss(s, c->vrf, c->addr.afi, c->tcp_mss);
	if (!c->shutdown)
		peer_start(p);
	return was_up;
}

void
session_export_policies(
	struct speaker *s, struct peer_id id, const struct session_policies *policies)
{
	struct peer *p = peer_find(s, id);

	if (p == NULL)
		return;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct update_member *g = p->family[f].group;

		if (g == NULL || p->policies.export_policy[f] == policies->export_policy[f])
			continue;
		update_group_policy(g, policies->export_policy[f]);
		s->export_all = true;
	}
	p->policies = *policies;
}

void
speaker_plan_begin(struct speaker *s, unsigned generation, const struct update_plan_part *parts,
	unsigned count)
{
	if (s->groups != NULL) /* otherwise no routes have been advertised yet */
		update_groups_plan_begin(
			s->groups, generation, (uint32_t)(now_ns() / NS_PER_S), parts, count);
	s->export_all = true;
}

void
speaker_plan_settle(struct speaker *s)
{
	if (s->groups != NULL)
		update_groups_settle(s->groups);
	s->export_all = true;
}

void
speaker_plan_supplied(struct speaker *s, enum family f)
{
	if (s->groups != NULL)
		update_groups_plan_supplied(s->groups, f);
	s->export_all = true;
}

void
speaker_plan_end(struct speaker *s, enum family f)
{
	if (s->groups != NULL)
		update_groups_plan_end(s->groups, f);
	s->export_all = true;
}

/* Also ends max_prefixes hold, idle hold, and the retention of routes. */
static bool
reset_with(struct peer *p, const struct note *note) RUNS_ON(role_session)
{
	if (p == NULL || (p->up == NULL && !p->held && !peer_in_idle_hold(p) && !restart_waits(p)))
		return false;
	peer_stop(p, note);
	peer_start(p); /* without idle hold: there was no error */
	return true;
}

bool
session_reset(struct speaker *s, struct peer_id id, const char *text)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_ADMIN_RESET, .text = text};

	return reset_with(peer_find(s, id), &note);
}

bool
session_out_of_resources(struct speaker *s, struct peer_id id)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_OUT_OF_RESOURCES};
	struct peer *p = peer_find(s, id);

	if (p == NULL)
		return false;
	if (p->up != NULL) {
		connection_event(p->up, EV_BAD_MESSAGE, &note);
		return true;
	}
	if (restart_waits(p)) {
		restart_forget(p);
		input_settle(s);
	}
	return false;
}

bool
session_reset_config(struct speaker *s, struct peer_id id)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_CONFIG_CHANGE};
	struct peer *p = peer_find(s, id);

	return p != NULL && p->up != NULL && reset_with(p, &note);
}

/* ---- views for main ---- */

static struct session_capability
capability(bool local, bool remote)
{
	return (struct session_capability){
		.local = local, .remote = remote, .negotiated = local && remote};
}

static void
view_family(
	const struct peer *p, const struct connection *c, enum family id, struct session_view *out)
{
	const struct peer_family *f = &p->family[id];
	bool external = p->config.external;

	out->families[id].configured = p->config.families[id].enabled;
	out->families[id].negotiated = f->group != NULL;
	out->families[id].no_import_policy = external && !p->policies.has_import[id];
	out->families[id].no_export_policy = external && p->policies.export_policy[id] == NULL;
	out->families[id].advertised = f->group != NULL ? update_group_advertised(f->group) : 0;
	if (f->group != NULL)
		update_group_stats(f->group, &out->families[id].group);
	out->families[id].requests_sent = f->requests_sent;
	out->families[id].requests_received = f->serve.requests_received;
	out->families[id].served = f->serve.served;
	out->families[id].coalesced = f->serve.coalesced;
	out->families[id].borr_sent = f->borr_sent;
	out->families[id].eorr_sent = f->eorr_sent;
	out->families[id].borr_received = f->borr_received;
	out->families[id].eorr_received = f->eorr_received;
	out->families[id].graceful_restart =
		c->open.graceful_restart && (c->open.restart_families & 1u << id);
	out->families[id].forwarding_kept = c->open.forwarding_families & 1u << id;
	out->families[id].retained = f->retained;
	out->families[id].extended_next_hop = c->n.extended_next_hop & 1u << id;
	out->families[id].max_prefixes = p->config.families[id].max_prefixes;
	out->families[id].max_prefixes_action =
		(enum max_prefixes_action)p->config.families[id].max_prefixes_action;
	out->families[id].max_prefixes_threshold = p->config.families[id].max_prefixes_threshold;
	out->families[id].max_prefixes_restart_s = p->config.families[id].max_prefixes_restart_s;
	out->families[id].max_prefixes_exceeded = f->limit.level == LIMIT_PASSED;
	out->families[id].max_prefixes_out_exceeded = f->limit.out == LIMIT_PASSED;
	out->families[id].max_prefixes_out_passed = f->limit.out_passed;
	out->families[id].slow = f->slow.slow;
	out->families[id].slow_count = f->slow.count;
	out->families[id].end_of_rib_received = f->end_of_rib_received;
	out->families[id].end_of_rib_sent = f->end_of_rib_sent;
}

static void
view_offered(const struct connection *c, struct session_view *out)
{
	struct bgp_open o;

	if (c->open_received.octets == NULL ||
		bgp_open_decode(c->open_received.octets, c->open_received.len, &o).severity !=
			BGP_OK)
		return;
	for (unsigned i = 0; i < o.raw_count; i++) {
		uint8_t *to = out->offered + out->offered_len;

		if (out->offered_len + 2u + o.raw[i].len > sizeof(out->offered))
			return;
		to[0] = o.raw[i].code;
		to[1] = o.raw[i].len;
		memcpy(to + 2, o.raw[i].value, o.raw[i].len);
		out->offered_len = (uint16_t)(out->offered_len + 2u + o.raw[i].len);
	}
}

bool
session_peek(struct speaker *s, struct peer_id id, struct session_view *out)
{
	const struct peer *p = peer_find(s, id);
	static const struct connection none;
	const struct connection *c;

	if (p == NULL || p->removed)
		return false;
	c = p->up != NULL ? p->up : &none;
	*out = (struct session_view){
		.state = peer_state(p),
		.established_ns = p->established_ns,
		.established_count = p->established_count,
		.route_refresh =
			capability(p->config.capabilities.route_refresh, c->open.route_refresh),
		.enhanced_route_refresh = capability(p->config.capabilities.enhanced_route_refresh,
			c->open.enhanced_route_refresh),
		.four_octet_as =
			capability(p->config.capabilities.four_octet_as, c->open.four_octet_as),
		.extended_message = capability(
			p->config.capabilities.extended_message, c->open.extended_message),
		.graceful_restart = capability(
			p->config.capabilities.graceful_restart, c->open.graceful_restart),
		.extended_next_hop = capability(
			p->config.capabilities.extended_next_hop, c->open.extended_next_hop != 0),
		.restart_notification = capability(
			p->config.capabilities.graceful_restart, c->open.restart_notification),
		.restart_time_s = c->open.restart_time_s,
		.held = p->held,
		.idle_hold = peer_in_idle_hold(p),
		.link_sensitive = p->up != NULL && links_sensitive(p->up),
		.on_link = links_on(p),
		.external = p->config.external,
		.keepalive_late_ns = p->keepalive_late_ns,
		.remote_role = c->open.role,
		.remote_asn = c->open.asn,
		.remote_identifier = c->open.identifier,
		.hold_time_s = c->n.hold_time_s,
		.local_addr = c->local_addr,
		.messages_received = p->messages_received,
		.messages_sent = p->messages_sent,
		.updates_received = p->updates_received,
		.updates_sent = p->updates_sent,
		.hold_rearmed = p->hold_rearmed,
	};
	memcpy(out->last_error, p->last_error, sizeof(out->last_error));
	memcpy(out->falls, p->falls, sizeof(out->falls));
	view_offered(c, out);
	labels_view(p, out);
	out->output_octets = c->tx_tail - c->tx_head;
	out->input_octets = c->rx_tail - c->rx_head;
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		view_family(p, c, f, out);
	return true;
}

void
session_peek_socket(struct speaker *s, struct peer_id id, struct session_view *out)
{
	const struct peer *p = peer_find(s, id);

	if (p != NULL && p->up != NULL)
		out->socket = host_socket_peek(p->up->watch.fd);
}

int
session_adj_out(struct speaker *s, struct peer_id id, enum family f, struct dest_id dest,
	struct attr_set *out, size_t size, uint32_t *label)
{
	const struct peer *p = peer_find(s, id);
	const struct attr_set *a;

	if (p == NULL || p->family[f].group == NULL)
		return 0;
	a = update_group_exported(p->family[f].group, dest, label);
	if (a == NULL)
		return 0;
	if (attr_set_size(a) > size)
		return -ENOSPC;
	memcpy(out, a, attr_set_size(a));
	return (int)attr_set_size(a);
}

bool
session_fate(struct speaker *s, struct peer_id id, enum family f, struct dest_id dest, bool zero,
	struct update_fate *out)
{
	const struct peer *p = peer_find(s, id);

	if (p == NULL || p->family[f].group == NULL)
		return false;
	update_group_fate(p->family[f].group, dest, zero, out);
	return true;
}

void
speaker_keepalive_late(const struct speaker *s, struct hist_summary *out)
{
	const struct hist *h = &s->keepalive_late;

	hist_summarize(&h, 1, out);
}

const struct hist *
speaker_keepalive_hist(const struct speaker *s)
{
	return &s->keepalive_late;
}

void
speaker_turns(const struct speaker *s, struct hist_summary *out)
{
	const struct hist *h = &s->turns;

	hist_summarize(&h, 1, out);
}
