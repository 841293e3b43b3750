/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * max_prefixes (RFC 4486 4). The shard does not store prefix number limit + 1 (rib/shard/shard_import.c): each announcement of a limited peer
 * carries the limit. The session reads the counts of the shards while records of the peer may be queued, and then warns, raises the
 * alarm, or ends the session. shards_peer_counted() reads the counts of all shards at a single time.
 *
 * One shard checks each prefix. With several shards, the session keeps an upper bound of the prefixes that all shards store: the stored
 * ones when the session last read the counts, and all announced since. While the bound is below the limit, records carry no limit and
 * cost the shards nothing. Above the limit, records are ordered: each record follows all earlier records of every shard.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

/* The shards handle a queued record within a small part of LIMIT_LOOKS times this interval. */
#define LIMIT_LOOK_NS 20000000u
#define LIMIT_LOOKS 100u

/* ---- the bound of several shards ---- */

#define STORED_UNKNOWN (UINT64_MAX / 2)

static void
limit_mark(struct peer_family *f) RUNS_ON(role_session)
{
	input_mark(f->peer->speaker, f->limit.mark);
	f->limit.sent_after_mark = 0;
}

/* The number of stored prefixes is unknown until the shards have handled all records up to the mark. */
static void
limit_begin(struct peer_family *f) RUNS_ON(role_session)
{
	f->limit.stored = STORED_UNKNOWN;
	f->limit.sent = 0;
	limit_mark(f);
}

/* Reads the counts. Once the shards have handled all records up to the mark, the counts include all that was sent before the mark. */
static void
limit_look(struct peer_family *f) RUNS_ON(role_session)
{
	const struct speaker *s = f->peer->speaker;
	struct adj_rib_in_counts counts;

	if (!input_did(s, f->limit.mark))
		return;
	f->limit.sent = f->limit.sent_after_mark;
	limit_mark(f);
	shards_peer_counts(&s->shards, f->peer->id, f->family, &counts);
	f->limit.stored = counts.counted;
}

static bool
limit_is_far(const struct peer_family *f, unsigned more, uint32_t limit)
{
	return f->limit.stored + f->limit.sent + more <= limit;
}

uint32_t
limit_of(struct peer *p, enum family id, unsigned count)
{
	const struct config_family *k = &p->config.families[id];
	struct peer_family *f = &p->family[id];
	bool far;

	if (k->max_prefixes == 0 || k->max_prefixes_action == MAX_PREFIXES_WARNING)
		return 0;
	if (p->speaker->shards.count == 1)
		return k->max_prefixes;
	if (!limit_is_far(f, count, k->max_prefixes))
		limit_look(f);
	far = limit_is_far(f, count, k->max_prefixes);
	/* The records of the UPDATE follow the mark. */
	f->limit.sent += count;
	f->limit.sent_after_mark += count;
	return far ? 0 : k->max_prefixes;
}

/* ---- levels, warnings, shutdown ---- */

static const char *
action_text(enum max_prefixes_action action)
{
	static const char *const texts[] = {[MAX_PREFIXES_WARNING] = "warning",
		[MAX_PREFIXES_SHUTDOWN] = "shutdown",
		[MAX_PREFIXES_DISCARD] = "discard"};

	return texts[action];
}

/* Main reads the level for the alarm. */
static void
limit_level(struct peer_family *f, enum limit_level level)
{
	f->limit.level = level;
	/* relaxed: main looks again */
	atomic_store_explicit(&f->peer->speaker->limit_level[f->peer->id.v][f->family],
		(uint8_t)level, memory_order_relaxed);
}

enum limit_level
speaker_limit_level(const struct speaker *s, struct peer_id id, enum family f)
{
	return (enum limit_level)atomic_load_explicit(
		&s->limit_level[id.v][f], memory_order_relaxed);
}

static void
limit_log(const struct peer_family *f, const char *event, uint64_t counted)
{
	const struct config_family *k = &f->peer->config.families[f->family];

	log_event(LOG_WARNING, "%s peer=%s vrf=%s family=%s received=%llu limit=%u action=%s",
		event, f->peer->config.addr_text, f->peer->vrf_name, family_text(f->family),
		(unsigned long long)counted, k->max_prefixes,
		action_text((enum max_prefixes_action)k->max_prefixes_action));
}

static void
restart_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer *p = container_of(t, struct peer, limit_restart);

	if (p->held && !p->removed)
		peer_start(p);
}

/* The peer stays idle for restart_s; without restart_s, until an operator resets the peer. */
static void
limit_shut(struct peer_family *f) RUNS_ON(role_session)
{
	struct peer *p = f->peer;
	const struct config_family *k = &p->config.families[f->family];
	uint8_t data[7];
	struct wr w = wr_init(data, sizeof(data));
	struct note note = {.code = ERR_CEASE,
		.subcode = CEASE_MAX_PREFIXES,
		.data = data,
		.data_len = sizeof(data)};

	wr_u16(&w, family_afi(f->family));
	wr_u8(&w, (uint8_t)family_safi(f->family));
	wr_u32(&w, k->max_prefixes);
	peer_stop(p, &note);
	p->held = true;
	if (k->max_prefixes_restart_s != 0)
		timer_arm(p->speaker->thread, &p->limit_restart,
			k->max_prefixes_restart_s * NS_PER_S);
}

/* The number of prefixes that the limit refused in this session. */
static uint64_t
refused_by_limit(const struct peer_family *f)
{
	uint64_t refused[REFUSED_CAUSES];

	shards_peer_refused(&f->peer->speaker->shards, f->peer->id, f->family, refused);
	return refused[REFUSED_PREFIX_LIMIT];
}

/*
 * Requests the prefixes that an earlier limit refused: the present limit may allow them. These
 * refusals do not count against the present limit.
 */
static void
refused_again(struct peer_family *f, uint64_t refused) RUNS_ON(role_session)
{
	f->limit.refused = refused;
	if (f->peer->up->n.families >> f->family & 1 && refused > 0)
		refresh_request(f);
}

/* The percentage of `limit` that raises the alarm, as a count, rounded up. */
static uint64_t
threshold_of(const struct config_family *k)
{
	return ((uint64_t)k->max_prefixes * k->max_prefixes_threshold + 99) / 100;
}

/*
 * The counts belong to this session and to the present limits. `idle`: before the counts were read,
 * no record was queued. Records without a limit are not ordered: a shard may store a prefix before
 * another shard withdraws the prefix that the peer gave up.
 */
static void
family_check(struct peer_family *f, const struct config_family *k, bool idle) RUNS_ON(role_session)
{
	const struct shards *shards = &f->peer->speaker->shards;
	uint64_t counted;
	bool known = shards_peer_counted(shards, 0, f->peer->id, f->family, &counted);
	bool ordered = shards->count == 1 || k->max_prefixes_action != MAX_PREFIXES_WARNING;

	if (!known || counted != f->limit.seen)
		f->peer->limit_looks = LIMIT_LOOKS; /* the shards are still storing */
	f->limit.seen = counted;
	if (f->limit.level == LIMIT_PASSED)
		return;
	if ((known && counted > k->max_prefixes && (ordered || idle)) ||
		refused_by_limit(f) > f->limit.refused) {
		limit_level(f, LIMIT_PASSED);
		limit_log(f, "max-prefixes", counted);
		if (k->max_prefixes_action == MAX_PREFIXES_SHUTDOWN)
			limit_shut(f);
	} else if (k->max_prefixes_threshold == 0 || counted < threshold_of(k)) {
		limit_level(f, LIMIT_KEPT);
	} else if (f->limit.level == LIMIT_KEPT) {
		limit_level(f, LIMIT_NEAR);
		limit_log(f, "max-prefixes-near", counted);
	}
}

/* ---- advertised prefixes: max_prefixes_out ---- */

static void
out_level(struct peer_family *f, enum limit_level level)
{
	f->limit.out = level;
	/* relaxed: main looks again */
	atomic_store_explicit(&f->peer->speaker->limit_out_level[f->peer->id.v][f->family],
		(uint8_t)level, memory_order_relaxed);
}

enum limit_level
speaker_limit_out_level(const struct speaker *s, struct peer_id id, enum family f)
{
	return (enum limit_level)atomic_load_explicit(
		&s->limit_out_level[id.v][f], memory_order_relaxed);
}

static void
out_log(const struct peer_family *f, const char *event, uint64_t advertised)
{
	const struct config_family *k = &f->peer->config.families[f->family];

	log_event(LOG_WARNING, "%s peer=%s vrf=%s family=%s advertised=%llu limit=%u action=%s",
		event, f->peer->config.addr_text, f->peer->vrf_name, family_text(f->family),
		(unsigned long long)advertised, k->max_prefixes_out,
		action_text((enum max_prefixes_action)k->max_prefixes_out_action));
}

bool
limit_sends(struct peer_family *f)
{
	const struct config_family *k = &f->peer->config.families[f->family];
	uint64_t threshold =
		((uint64_t)k->max_prefixes_out * k->max_prefixes_out_threshold + 99) / 100;
	uint64_t advertised;

	if (k->max_prefixes_out == 0)
		return true;
	advertised = update_group_advertised(f->group);
	if (advertised > k->max_prefixes_out) {
		if (f->limit.out != LIMIT_PASSED) {
			f->limit.out_passed++;
			out_level(f, LIMIT_PASSED);
			out_log(f, "max-prefixes-out", advertised);
		}
		return k->max_prefixes_out_action != MAX_PREFIXES_SHUTDOWN;
	}
	if (f->limit.out == LIMIT_KEPT && advertised >= threshold)
		out_log(f, "max-prefixes-out-near", advertised);
	out_level(f, advertised < threshold ? LIMIT_KEPT : LIMIT_NEAR);
	return true;
}

void
limit_out_shut(struct peer_family *f)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_ADMIN_SHUTDOWN};

	peer_stop(f->peer, &note);
	f->peer->held = true;
}

/* A new session, or a new limit. */
static void
out_begin(struct peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		out_level(&p->family[f], LIMIT_KEPT);
}

/* True if the shards have begun the session, and handled all records before the last change of the limits. */
static bool
limit_holds(const struct peer *p) RUNS_ON(role_session)
{
	return !p->owed_up && !p->owed_down && input_did(p->speaker, p->limit_from);
}

/*
 * The shards have handled the records that were queued at the change of a limit. A full family has
 * no room for the refused prefixes: the refusals count against the present limit.
 */
static void
limit_settle(struct peer *p) RUNS_ON(role_session)
{
	p->limit_changed = false;
	for (enum family id = 0; id < FAMILY_COUNT; id++) {
		uint32_t limit = p->config.families[id].max_prefixes;
		struct peer_family *f = &p->family[id];
		uint64_t refused = refused_by_limit(f);
		struct adj_rib_in_counts counts;

		shards_peer_counts(&p->speaker->shards, p->id, id, &counts);
		if (refused > f->limit.refused && (limit == 0 || counts.counted < limit))
			refused_again(f, refused);
	}
}

static void
limit_check(struct peer *p, bool idle) RUNS_ON(role_session)
{
	if (!limit_holds(p))
		return;
	if (p->limit_changed)
		limit_settle(p);
	for (enum family id = 0; id < FAMILY_COUNT && p->up != NULL; id++) {
		const struct config_family *k = &p->config.families[id];

		if (k->max_prefixes != 0 && (p->up->n.families & 1u << id))
			family_check(&p->family[id], k, idle);
	}
}

/* No record is queued. A record may wait for long, for example while tombstones wait for the fib thread. */
static bool
inputs_idle(const struct speaker *s) RUNS_ON(role_session)
{
	for (unsigned i = 0; i < s->shards.count; i++)
		if (!shard_input_idle(s->input[i].to))
			return false;
	return true;
}

/* Checks the limited peers with recent UPDATEs. */
static void
limits_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, limits);
	struct peer *p;
	bool idle;

	idle = inputs_idle(s); /* before the counts are read */
	RING_EACH(p, &s->limit_peers, limit_ring)
	{
		if (p->up != NULL && (p->limited || p->limit_changed))
			limit_check(p, idle);
		p->limit_looks -= p->limit_looks > 0;
		if (p->up == NULL ||
			(!p->limit_changed && (!p->limited || (p->limit_looks == 0 && idle))))
			ring_remove(&p->limit_ring);
	}
	if (!ring_empty(&s->limit_peers))
		timer_arm(s->thread, t, LIMIT_LOOK_NS);
}

static void
limit_watch(struct peer *p)
{
	struct speaker *s = p->speaker;

	p->limit_looks = LIMIT_LOOKS;
	if (p->limit_ring.next == NULL)
		ring_insert(&s->limit_peers, &p->limit_ring);
	if (s->limits.deadline_ns == 0)
		timer_arm(s->thread, &s->limits, LIMIT_LOOK_NS);
}

void
limit_received(struct peer *p)
{
	if (p->limited)
		limit_watch(p);
}

void
limit_config(struct peer *p)
{
	p->limited = false;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		p->limited |= p->config.families[f].max_prefixes != 0;
		if (p->family[f].group != NULL)
			update_group_limit(
				p->family[f].group, p->config.families[f].max_prefixes_out);
	}
	/* Prefixes stored before the limit was set count, too. */
	if (p->up != NULL)
		limit_received(p);
}

void
limit_up(struct peer *p)
{
	out_begin(p);
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		limit_level(&p->family[f], LIMIT_KEPT);
		limit_begin(&p->family[f]);
		p->family[f].limit.refused = 0;
	}
	p->limit_changed = false;
}

void
limit_again(struct peer *p)
{
	limit_up(p);
	if (p->up == NULL)
		return;
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		refused_again(&p->family[f], refused_by_limit(&p->family[f]));
	input_mark(p->speaker, p->limit_from);
	p->limit_changed = true;
	limit_watch(p);
}

void
limit_down(struct peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].limit.level == LIMIT_NEAR)
			limit_level(&p->family[f], LIMIT_KEPT);
		if (p->family[f].limit.out == LIMIT_NEAR)
			out_level(&p->family[f], LIMIT_KEPT);
	}
}

void
limit_forget(struct peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		limit_level(&p->family[f], LIMIT_KEPT);
	out_begin(p);
	ring_remove(&p->limit_ring);
}

void
limit_init(struct peer *p)
{
	p->limit_restart.fire = restart_fire;
	out_begin(p);
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		limit_level(&p->family[f], LIMIT_KEPT);
}

bool
limit_changed(const struct config_peer *a, const struct config_peer *b)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		const struct config_family *x = &a->families[f], *y = &b->families[f];

		if (x->max_prefixes != y->max_prefixes ||
			x->max_prefixes_action != y->max_prefixes_action ||
			x->max_prefixes_threshold != y->max_prefixes_threshold ||
			x->max_prefixes_restart_s != y->max_prefixes_restart_s ||
			x->max_prefixes_out != y->max_prefixes_out ||
			x->max_prefixes_out_action != y->max_prefixes_out_action ||
			x->max_prefixes_out_threshold != y->max_prefixes_out_threshold)
			return true;
	}
	return false;
}

void
limits_init(struct speaker *s)
{
	s->limits.fire = limits_fire;
	ring_init(&s->limit_peers);
}
