/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Export of an established session, and soft reset in both directions (RFC 2918, RFC 7313) with its
 * jobs.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <string.h>

#define REQUEST_ANSWER_NS                                                                          \
	(10 * NS_PER_S) /* BIRD 2 begins to answer a second request after three seconds */

#define OUTPUT_RETRY_NS 10000000u

/* ---- jobs ---- */

static bool
jobs_add(struct peer_family *f, struct refresh_jobs *j, const struct refresh_job *job)
{
	if (job->id != 0 && event_reserve(f->peer->speaker, 1) != 0)
		return false;
	if (j->count == j->size) {
		unsigned size = j->size > 0 ? 2 * j->size : 8;
		struct refresh_job *p =
			arena_realloc(f->peer->speaker->config.arena, j->job, size * sizeof(*p));

		if (p == NULL) {
			event_release(f->peer->speaker, job->id != 0);
			return false;
		}
		j->job = p;
		j->size = size;
	}
	j->job[j->count++] = *job;
	return true;
}

static void
event_send(struct peer_family *f, enum session_event_kind kind, uint32_t job, bool framed,
	const char *reason)
{
	struct speaker *s = f->peer->speaker;
	struct session_event e = {.kind = kind,
		.peer = f->peer->id,
		.family = f->family,
		.framed = framed,
		.job = job,
		.reason = reason};

	s->config.event(s->config.ctx, &e);
}

static void
report_event(struct peer_family *f, enum session_event_kind kind, uint32_t job, bool framed)
{
	event_send(f, kind, job, framed, NULL);
}

static void
jobs_fail(struct peer_family *f, struct refresh_jobs *j, const char *reason)
{
	for (unsigned i = 0; i < j->count; i++)
		event_send(f, SESSION_REFRESH_FAILED, j->job[i].id, false, reason);
	j->count = 0;
}

/* ---- export ---- */

/*
 * To be called after each change of f->serve: updates the count of walking families and the pace
 * timer.
 */
static void
serve_changed(struct peer_family *f)
{
	struct speaker *s = f->peer->speaker;

	if (f->serve.walking != f->serving)
		s->serving += f->serve.walking ? 1 : -1;
	f->serving = f->serve.walking;
	if (f->serve.resting && s->pace_timer.deadline_ns == 0) {
		uint64_t now = now_ns();

		timer_arm(s->thread, &s->pace_timer,
			s->pace.free_ns > now ? s->pace.free_ns - now : 0);
	}
}

static void
walk_begin_one(struct peer_family *f) RUNS_ON(role_session)
{
	f->walks++;
	update_group_refresh(f->group, f->peer->up->n.enhanced_route_refresh);
	peer_export_due(f->peer);
	serve_changed(f);
}

/* Begins a refresh walk. Resting requests of the same group join the walk. */
static void
walk_begin_refresh(struct peer_family *f) RUNS_ON(role_session)
{
	struct peer *p;

	walk_begin_one(f);
	RING_EACH(p, &f->peer->speaker->established, established)
	{
		struct peer_family *other = &p->family[f->family];

		if (other->serve.resting && update_group_shared(f->group, other->group) &&
			refresh_serve_resume(&other->serve, now_ns()))
			walk_begin_one(other);
	}
}

/* End of the rest; armed again if more walks have run meanwhile. */
static void
pace_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, pace_timer);
	uint64_t now = now_ns();
	struct peer *p;

	RING_EACH(p, &s->established, established)
	{
		for (unsigned i = 0; i < FAMILY_COUNT; i++) {
			struct peer_family *f = &p->family[i];

			if (now < s->pace.free_ns)
				serve_changed(f);
			else if (refresh_serve_resume(&f->serve, now))
				walk_begin_one(f);
		}
	}
}

void
pace_init(struct speaker *s)
{
	s->pace_timer.fire = pace_fire;
}

static void
export_jobs_end(struct peer_family *f)
{
	unsigned kept = 0;
	bool reported = false;

	for (unsigned i = 0; i < f->export_jobs.count; i++) {
		struct refresh_job job = f->export_jobs.job[i];

		if ((int32_t)(job.walk - f->walks) > 0) {
			f->export_jobs.job[kept++] = job;
			continue;
		}
		report_event(f, SESSION_EXPORT_DONE, job.id, f->peer->up->n.enhanced_route_refresh);
		reported = true;
	}
	f->export_jobs.count = kept;
	if (!reported)
		report_event(f, SESSION_EXPORT_DONE, 0, f->peer->up->n.enhanced_route_refresh);
}

/* Differences are not framed by BoRR and EoRR (RFC 7313). */
static void
policy_jobs_end(struct peer_family *f)
{
	uint32_t settled = update_group_settled(f->group);
	unsigned kept = 0;

	for (unsigned i = 0; i < f->policy_jobs.count; i++) {
		struct refresh_job job = f->policy_jobs.job[i];

		if ((int32_t)(job.walk - settled) > 0)
			f->policy_jobs.job[kept++] = job;
		else
			report_event(f, SESSION_EXPORT_DONE, job.id, false);
	}
	f->policy_jobs.count = kept;
}

static void
on_mark(void *ctx, enum update_group_mark m) RUNS_ON(role_session)
{
	struct peer_family *f = ctx;

	switch (m) {
	case MARK_NONE:
		break;
	case MARK_END_OF_RIB:
		f->end_of_rib_sent = true;
		report_event(f, SESSION_EXPORT_DONE, 0, false);
		if (refresh_serve_end_of_rib(&f->serve, &f->peer->speaker->pace, now_ns()))
			walk_begin_refresh(f);
		serve_changed(f);
		break;
	case MARK_BORR:
		f->borr_sent++;
		/* RFC 7313 4: the peer expects another BoRR for a request from now on */
		refresh_serve_first_message(&f->serve);
		break;
	case MARK_FIRST_ENTRY:
		refresh_serve_first_message(&f->serve);
		break;
	case MARK_EORR:
		f->eorr_sent++;
		break;
	case MARK_WALK_DONE:
		export_jobs_end(f);
		if (refresh_serve_walk_done(&f->serve, &f->peer->speaker->pace, now_ns()))
			walk_begin_refresh(f);
		serve_changed(f);
		break;
	case MARK_POLICY_DONE:
		report_event(f, SESSION_EXPORT_DONE, 0, false);
		break;
	case MARK_SETTLED:
		policy_jobs_end(f);
		break;
	}
}

static struct update_rules
rules_of(const struct peer_family *f)
{
	const struct peer *p = f->peer;
	const struct connection *c = p->up;
	const struct config_family *k = &p->config.families[f->family];

	return (struct update_rules){
		.family = f->family,
		.kind = p->config.external		   ? UPDATE_EXTERNAL
			: p->config.route_reflector_client ? UPDATE_CLIENT
							   : UPDATE_INTERNAL,
		.own_as = p->speaker->config.asn,
		.local_as = peer_local_as(p),
		.peer_as = c->open.asn,
		.role = p->config.role,
		.cluster_id = shard_cluster_id(p->speaker->shards.at[0]),
		.encode = {.as4 = c->n.as4,
			.extended_message = c->n.extended_message,
			.extended_next_hop = c->n.extended_next_hop & 1u << f->family,
			.send_communities = k->send_communities},
		.policy = p->policies.export_policy[f->family],
		.filter = family_safi(f->family) == SAFI_VPN ? p->rt.filter : NULL,
		.peer = p->config.addr,
		.peer_group = p->config.group_key,
		.next_hop_self = k->next_hop_self,
		.next_hop_unchanged = k->next_hop_unchanged,
		.remove_private_as = k->remove_private_as,
		.as_override = k->as_override,
		.site_of_origin = k->site_of_origin,
		.default_originate = k->default_originate,
		.route_server_client = k->route_server_client,
		.graceful_shutdown = k->graceful_shutdown,
		.link = c->local.zone,
		.long_lived = c->open.long_lived,
	};
}

/*
 * RFC 2545 3: adds the link-local address for a peer on the same link. RFC 8950: an IPv6 next hop
 * for IPv4 if the session runs over IPv6. RFC 4659 3.2.1.2: an IPv4 next hop for VPN-IPv6 if the
 * session runs over IPv4.
 */
static void
next_hop_of(const struct peer_family *f, struct update_member_config *m)
{
	const struct connection *c = f->peer->up;
	const struct local_end *l = &c->local;
	bool v4 = family_afi(f->family) == AFI_IPV4;
	bool either = v4 || family_safi(f->family) == SAFI_VPN;

	if ((v4 && !m->rules.encode.extended_next_hop) ||
		(either && c->local_addr.afi == AFI_IPV4)) {
		m->next_hop = l->v4;
		return;
	}
	m->next_hop = l->v6;
	if (l->zone != 0)
		m->next_hop_link_local = l->link_local;
}

static int
groups_create(struct speaker *s) RUNS_ON(role_session)
{
	struct update_groups_config c = {.arena = s->config.arena,
		.shards = &s->shards,
		.records = s->records,
		.swaps = s->labels.swaps};
	int err = s->groups != NULL ? 0 : update_groups_create(&c, &s->groups);

	if (err == 0) {
		update_groups_trace(s->groups, s->tap);
		update_groups_monitor(s->groups, s->out_changes);
	}
	return err;
}

static int
family_up(struct peer_family *f) RUNS_ON(role_session)
{
	struct peer *p = f->peer;
	struct speaker *s = p->speaker;
	struct update_member_config m = {.id = p->id, .rules = rules_of(f)};
	int err = shard_table_find(s->shards.at[0], p->config.vrf, f->family, &m.rules.table);

	next_hop_of(f, &m);
	if (err == 0)
		err = groups_create(s);
	if (err == 0)
		err = update_group_join(s->groups, &m, &f->group);
	if (err == 0)
		update_group_limit(f->group, p->config.families[f->family].max_prefixes_out);
	if (err < 0)
		log_event(LOG_ERROR, "export-failed peer=%s vrf=%s family=%s error=\"%s\"",
			p->config.addr_text, p->vrf_name, family_text(f->family),
			strerrordesc_np(-err));
	return err;
}

void
export_rules(struct peer *p)
{
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		struct update_rules r;

		if (p->family[i].group == NULL)
			continue;
		r = rules_of(&p->family[i]);
		update_group_rules(p->family[i].group, &r);
		p->speaker->export_all = true;
	}
}

void
export_next_hops(struct peer *p)
{
	export_rules(p); /* the link of the peer */
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		struct peer_family *f = &p->family[i];
		struct update_member_config m;

		if (f->group == NULL)
			continue;
		m = (struct update_member_config){.rules = rules_of(f)};
		next_hop_of(f, &m);
		if (update_group_next_hop(f->group, &m.next_hop, &m.next_hop_link_local) &&
			refresh_serve_order(&f->serve, f->end_of_rib_sent, now_ns()))
			walk_begin_refresh(f);
		serve_changed(f);
	}
	p->speaker->export_all = true;
}

int
export_up(struct peer *p)
{
	int err = 0;

	for (unsigned i = 0; i < FAMILY_COUNT && err == 0; i++) {
		struct peer_family *f = &p->family[i];

		f->end_of_rib_received = f->end_of_rib_sent = f->refreshing = false;
		f->not_before_ns = 0;
		f->spreads = false;
		/* RFC 4684 6: VPN routes wait for the memberships of the peer */
		if (p->up->n.families & 1u << i &&
			!(p->up->n.rt_constraint && VPN_FAMILIES >> i & 1))
			err = family_up(f);
	}
	if (err == 0)
		rt_up(p);
	return err;
}

int
export_up_vpn(struct peer *p)
{
	int err = 0;

	for (unsigned i = 0; i < FAMILY_COUNT && err == 0; i++)
		if (p->up->n.families & VPN_FAMILIES & 1u << i && p->family[i].group == NULL)
			err = family_up(&p->family[i]);
	return err;
}

/* The group of the last member is dismantled in slices, so that keepalives are not delayed. */
static void
group_leave(struct speaker *s, struct update_member *m) RUNS_ON(role_session)
{
	struct update_group *g = update_group_leave(m);
	struct leftover *l;

	if (g == NULL) {
		s->export_all = true; /* the remaining members drive the group */
		return;
	}
	l = arena_alloc(s->config.arena, sizeof(*l));
	if (l == NULL) {
		update_group_dismantle(g, UINT64_MAX);
		return;
	}
	*l = (struct leftover){.group = g, .next = s->leftovers};
	s->leftovers = l;
	if (!update_group_dismantle(g, 0)) {
		s->leftovers = l->next;
		arena_free(s->config.arena, l);
	}
}

bool
speaker_groups_gone(const struct speaker *s)
{
	return s->leftovers == NULL;
}

bool
leftovers_run(struct speaker *s, uint64_t deadline_ns)
{
	while (s->leftovers != NULL) {
		struct leftover *l = s->leftovers;

		if (update_group_dismantle(l->group, deadline_ns))
			return true;
		s->leftovers = l->next;
		arena_free(s->config.arena, l);
		if (now_ns() >= deadline_ns)
			break;
	}
	return s->leftovers != NULL;
}

void
export_down(struct peer *p)
{
	rt_down(p);
	for (unsigned i = 0; i < FAMILY_COUNT; i++) {
		struct peer_family *f = &p->family[i];

		if (f->group != NULL)
			group_leave(p->speaker, f->group);
		f->group = NULL;
		refresh_serve_reset(&f->serve);
		serve_changed(f);
		timer_cancel(p->speaker->thread, &f->stale);
		timer_cancel(p->speaker->thread, &f->spread);
		timer_cancel(p->speaker->thread, &f->answer);
		f->refreshing = f->request_owed = false;
		f->ends_of_rib = f->ends_expected = f->answered = 0;
		jobs_fail(f, &f->import_jobs, "session-lost");
		jobs_fail(f, &f->export_jobs, "session-lost");
		jobs_fail(f, &f->policy_jobs, "session-lost");
	}
}

static unsigned
messages_count(const uint8_t *p, size_t len, uint64_t *updates)
{
	const uint8_t *end = p + len;
	unsigned count = 0;

	for (; p < end; p += (size_t)p[16] << 8 | p[17]) {
		count++;
		*updates += p[18] == BGP_UPDATE;
	}
	return count;
}

static void
export_failed(struct peer_family *f, int error) RUNS_ON(role_session)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_OUT_OF_RESOURCES};

	log_event(LOG_ERROR, "export-failed peer=%s vrf=%s family=%s error=\"%s\"",
		f->peer->config.addr_text, f->peer->vrf_name, family_text(f->family),
		strerrordesc_np(-error));
	connection_event(f->peer->up, EV_BAD_MESSAGE, &note);
}

/* Arms a timer for the next work of the group, since no event wakes the thread. */
static void
family_wait(struct peer_family *f, uint64_t at)
{
	uint64_t now;

	if (at == 0 || f->spread.deadline_ns != 0)
		return;
	now = now_ns();
	timer_arm(f->peer->speaker->thread, &f->spread, at > now ? at - now : 0);
}

/* min_advertisement_s, from the last advertised change (RFC 4271 9.2.1.1). */
static void
family_spread(struct peer_family *f)
{
	uint64_t ns = f->peer->config.timers.min_advertisement_s * NS_PER_S;

	if (ns == 0)
		return;
	f->not_before_ns = now_ns() + ns;
	timer_arm(f->peer->speaker->thread, &f->spread, ns);
}

static bool
output_empty(const struct connection *c)
{
	return c->tx_head == c->tx_tail;
}

/* Packs messages into the output once, and sends. */
static struct update_turn
family_send(struct peer_family *f, uint64_t deadline_ns, bool live, bool *taken)
	RUNS_ON(role_session)
{
	struct peer *p = f->peer;
	struct speaker *s = p->speaker;
	struct connection *c = p->up;
	size_t room;
	uint8_t *tail = output_empty(c) && !c->ended ? connection_tail(c, TX_EXPORT, &room) : NULL;
	struct update_io io = {.buf = tail,
		.size = TX_EXPORT,
		.live = live,
		.paused = f->not_before_ns != 0 && now_ns() < f->not_before_ns,
		.taken = *taken && !c->ended,
		.mark = on_mark,
		.ctx = f};
	bool answers = f->serve.walking;
	uint64_t began = s->serving > 0 ? now_ns() : 0;
	struct update_turn t = update_member_turn(f->group, &io, deadline_ns);

	if (!limit_sends(f))
		t = (struct update_turn){.state = TURN_FAILED, .error = -EDQUOT};
	if (t.had_output) {
		if (!*taken)
			p->export_first = (uint8_t)((f->family + 1) % FAMILY_COUNT);
		*taken = true;
		connection_wrote(c, t.len, messages_count(tail, t.len, &p->updates_sent));
		if (t.len > 0) {
			c->tx_families = (uint8_t)(1u << f->family); /* `tx` was empty before */
			connection_flush(c);
		}
		/*
		 * The time for the answer, or for packing the answer of a group member, counts
		 * towards the pace. So does a simultaneous initial table.
		 */
		if (began != 0 && (answers || t.walked)) {
			uint64_t now = now_ns();

			refresh_pace_spent(&s->pace, now, now - began);
		}
	}
	if (tail != NULL)
		connection_drained(c);
	return t;
}

/*
 * One turn of a family. *taken: the output has been used in this round by a family of the peer. The
 * peer is due again while the socket accepts more; when the output drains, connection_flush() makes
 * the peer due.
 */
static void
family_run(struct peer_family *f, uint64_t deadline_ns, bool live, bool *taken)
	RUNS_ON(role_session)
{
	struct peer *p = f->peer;
	struct connection *c = p->up;
	struct update_turn t;

	do {
		t = family_send(f, deadline_ns, live, taken);
		if (t.others)
			update_groups_others(p->speaker->groups, &t, member_due, p->speaker);
		f->spreads |= t.len > 0;
	} while (t.state == TURN_MORE && !t.yields && t.len > 0 && output_empty(c) &&
		 now_ns() < deadline_ns);
	p->export_more |= t.state == TURN_MORE || t.state == TURN_HELD;
	switch (t.state) {
	case TURN_FAILED:
		if (t.error == -EDQUOT)
			limit_out_shut(f);
		else
			export_failed(f, t.error);
		return;
	case TURN_HELD:
		/* no memory for the output: no event follows */
		if (output_empty(c) && !c->ended)
			family_wait(f, now_ns() + OUTPUT_RETRY_NS);
		return;
	case TURN_MORE:
		if (output_empty(c))
			peer_export_due(p);
		return;
	case TURN_IDLE:
		break;
	}
	family_wait(f, t.wait_ns);
	if (f->spreads)
		family_spread(f);
	f->spreads = false;
}

/* ---- the end of an answer without BoRR and EoRR ---- */

#define ANSWER_LOOK_NS NS_PER_S
#define SILENT_LOOKS 3u /* without an UPDATE after the first UPDATE */
#define UNANSWERED_LOOKS 30u /* before the first UPDATE: a peer may begin late */
#define ANSWER_SHARD_NS 2000000u /* interval between checks of the shards */

/* Jobs up to End-of-RIB number `upto` wait for the shards only. */
static void
answer_ended(struct peer_family *f, uint32_t upto) RUNS_ON(role_session)
{
	struct speaker *s = f->peer->speaker;

	input_push(s);
	f->answered = upto;
	input_mark(s, f->answered_at);
	timer_arm(s->thread, &f->answer, ANSWER_SHARD_NS);
}

static void
answered_report(struct peer_family *f)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < f->import_jobs.count; i++) {
		struct refresh_job job = f->import_jobs.job[i];

		if (job.sent && (int32_t)(job.walk - f->answered) <= 0)
			report_event(f, SESSION_REFRESH_DONE, job.id, false);
		else
			f->import_jobs.job[kept++] = job;
	}
	f->import_jobs.count = kept;
	f->answered = 0;
	if (kept == 0)
		timer_cancel(f->peer->speaker->thread, &f->stale);
}

static void
answer_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer_family *f = container_of(t, struct peer_family, answer);
	struct peer *p = f->peer;
	bool began = p->updates_received != f->requested_updates;

	if (f->answered != 0) {
		if (input_did(f->peer->speaker, f->answered_at))
			answered_report(f);
		if (f->import_jobs.count > 0)
			timer_arm(p->speaker->thread, t,
				f->answered != 0 ? ANSWER_SHARD_NS : ANSWER_LOOK_NS);
		return;
	}
	f->silent_looks = p->updates_received == f->answer_updates ? f->silent_looks + 1 : 0;
	f->answer_updates = p->updates_received;
	if (f->silent_looks >= (began ? SILENT_LOOKS : UNANSWERED_LOOKS)) {
		f->ends_of_rib = f->ends_expected; /* missing End-of-RIBs will not arrive */
		answer_ended(f, f->ends_expected);
		return;
	}
	timer_arm(p->speaker->thread, t, ANSWER_LOOK_NS);
}

void
refresh_end_of_rib(struct peer_family *f)
{
	if ((int32_t)(f->ends_expected - f->ends_of_rib) <= 0)
		return; /* no request without BoRR is open */
	f->ends_of_rib++;
	if (f->import_jobs.count > 0)
		answer_ended(f, f->ends_of_rib);
}

/* Expects one more End-of-RIB; its number in *end. 0, -ENOMEM. */
static int
answer_expect(struct peer_family *f, uint32_t *end)
{
	struct speaker *s = f->peer->speaker;

	if (f->answered_at == NULL)
		f->answered_at =
			arena_calloc(s->config.arena, s->shards.count * sizeof(*f->answered_at));
	if (f->answered_at == NULL)
		return -ENOMEM;
	/* the End-of-RIB of the initial table comes first */
	if ((int32_t)(f->ends_expected - f->ends_of_rib) <= 0)
		f->ends_expected = f->ends_of_rib + !f->end_of_rib_received;
	*end = ++f->ends_expected;
	f->silent_looks = 0;
	f->answer_updates = f->peer->updates_received;
	if (f->answer.deadline_ns == 0)
		timer_arm(s->thread, &f->answer, ANSWER_LOOK_NS);
	return 0;
}

/* The request of the newest jobs was sent. */
static void
request_sent(struct peer_family *f)
{
	bool framed = f->peer->up->n.enhanced_route_refresh;
	unsigned first = f->import_jobs.count;
	uint32_t end = 0;
	bool waits = framed || answer_expect(f, &end) == 0;

	while (first > 0 && !f->import_jobs.job[first - 1].sent)
		first--;
	for (unsigned i = first; i < f->import_jobs.count; i++) {
		struct refresh_job *j = &f->import_jobs.job[i];

		j->sent = true;
		j->walk = end;
		report_event(f, SESSION_REFRESH_SENT, j->id, framed);
		if (!waits)
			event_send(f, SESSION_REFRESH_FAILED, j->id, false, "out-of-memory");
	}
	if (!waits)
		f->import_jobs.count = 0;
	else if (f->stale.deadline_ns == 0)
		timer_arm(f->peer->speaker->thread, &f->stale,
			f->peer->config.timers.stale_refresh_s * NS_PER_S);
}

/* Sends a ROUTE-REFRESH for all waiting jobs, or later if the output is full. */
static void
request_send(struct peer_family *f) RUNS_ON(role_session)
{
	struct connection *c = f->peer->up;
	size_t room;
	uint8_t *tail = connection_tail(c, BGP_MSG_MAX, &room);

	f->request_owed = tail == NULL;
	if (tail == NULL) {
		f->peer->export_more = true; /* due when the output drains */
		return;
	}
	connection_wrote(c, bgp_refresh_encode(f->family, REFRESH_REQUEST, tail, room), 1);
	connection_flush(c);
	f->requests_sent++;
	f->requested_ns = now_ns();
	f->requested_updates = f->peer->updates_received;
	request_sent(f);
}

void
refresh_request(struct peer_family *f)
{
	if (f->group != NULL && f->peer->up->n.route_refresh && !f->request_owed)
		request_send(f);
}

void
export_run(struct peer *p, uint64_t deadline_ns)
{
	unsigned first = p->export_first;
	bool taken = false;

	p->export_more = false;
	if (p->rt.due)
		rt_send(p);
	for (unsigned i = 0; i < FAMILY_COUNT && p->up != NULL; i++) {
		struct peer_family *f = &p->family[(first + i) % FAMILY_COUNT];

		if (f->request_owed)
			request_send(f);
		if (f->group == NULL)
			continue;
		family_run(f, deadline_ns, false, &taken);
		if (taken && now_ns() >= deadline_ns)
			deadline_ns = update_share(deadline_ns);
	}
}

void
export_run_live(struct peer *p)
{
	uint64_t deadline_ns = now_ns() + EXPORT_SHARE_NS;
	bool taken = false;

	for (unsigned i = 0; i < FAMILY_COUNT && p->up != NULL; i++)
		if (p->family[i].group != NULL && update_group_waits(p->family[i].group))
			family_run(&p->family[i], deadline_ns, true, &taken);
}

/* ---- requests of the peer ---- */

void
refresh_received(struct peer_family *f)
{
	if (refresh_serve_request(&f->serve, &f->peer->speaker->pace, f->end_of_rib_sent, now_ns()))
		walk_begin_refresh(f);
	serve_changed(f);
}

void
refresh_begun(struct peer_family *f)
{
	f->borr_received++;
	/*
	 * RFC 7313 4: from the oldest open BoRR, so that repeated BoRRs cannot postpone the sweep.
	 */
	if (!f->refreshing)
		timer_arm(f->peer->speaker->thread, &f->stale,
			f->peer->config.timers.stale_refresh_s * NS_PER_S);
	f->refreshing = true;
	for (unsigned i = 0; i < f->import_jobs.count; i++)
		f->import_jobs.job[i].begun = true;
}

/*
 * All routes since the BoRR were evaluated with the policy at the time of the BoRR or a newer
 * policy: jobs older than the BoRR are complete.
 */
void
refresh_ended(struct peer_family *f)
{
	struct speaker *s = f->peer->speaker;
	unsigned kept = 0;

	f->eorr_received++;
	if (!f->refreshing)
		return;
	f->refreshing = false;
	timer_cancel(s->thread, &f->stale);
	/* When main handles the event, the shards must have the records. */
	input_push(s);
	for (unsigned i = 0; i < f->import_jobs.count; i++) {
		struct refresh_job job = f->import_jobs.job[i];

		if (job.begun)
			report_event(f, SESSION_REFRESH_DONE, job.id, true);
		else
			f->import_jobs.job[kept++] = job;
	}
	f->import_jobs.count = kept;
	if (kept > 0)
		timer_arm(s->thread, &f->stale, f->peer->config.timers.stale_refresh_s * NS_PER_S);
}

static void
stale_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer_family *f = container_of(t, struct peer_family, stale);
	struct peer *p = f->peer;
	bool begun = f->refreshing;

	timer_cancel(p->speaker->thread, &f->answer);
	log_event(LOG_WARNING, "refresh-timeout peer=%s vrf=%s family=%s begun=%s",
		p->config.addr_text, p->vrf_name, family_text(f->family),
		f->refreshing ? "yes" : "no");
	if (f->refreshing) {
		input_owe_stale(f);
		input_settle(p->speaker);
	}
	f->refreshing = false;
	jobs_fail(f, &f->import_jobs,
		begun ? "no-end-of-refresh-within-stale_refresh_s"
		      : "no-answer-within-stale_refresh_s");
}

/* Only wakes the loop. */
static void
spread_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer_family *f = container_of(t, struct peer_family, spread);

	f->not_before_ns = 0;
	peer_export_due(f->peer);
}

void
export_timers_init(struct peer_family *f)
{
	f->stale.fire = stale_fire;
	f->answer.fire = answer_fire;
	f->spread.fire = spread_fire;
}

/* ---- requests of main ---- */

static struct peer_family *
family_of(struct speaker *s, struct peer_id id, enum family f, const char **reason,
	enum refresh_action *action)
{
	struct peer *p = id.v < PEER_MAX ? s->by_id[id.v] : NULL;

	*reason = NULL;
	if (p == NULL || p->up == NULL) {
		*action = REFRESH_NOT_ESTABLISHED;
		return NULL;
	}
	if (p->family[f].group == NULL) {
		*action = REFRESH_UNSUPPORTED;
		*reason = "not-negotiated";
		return NULL;
	}
	return &p->family[f];
}

/*
 * keel-policy(7) rule 11: a new job can share a request that the peer has not begun to answer,
 * since the whole answer will follow. Not after REQUEST_ANSWER_NS, because the peer may have lost
 * the request. Not after UPDATEs of a peer without any BoRR so far, because the UPDATEs may be the
 * answer (against RFC 7313 4).
 */
static bool
request_under_way(const struct peer_family *f)
{
	if (f->request_owed || f->requested_ns == 0 ||
		now_ns() - f->requested_ns > REQUEST_ANSWER_NS)
		return false;
	if (f->borr_received == 0 && f->peer->updates_received != f->requested_updates)
		return false;
	for (unsigned i = 0; i < f->import_jobs.count; i++) {
		if (!f->import_jobs.job[i].begun)
			return true;
	}
	return false;
}

/* Sends or joins a ROUTE-REFRESH, and adds the job that waits for the answer. */
static enum refresh_action
refresh_ask(struct peer_family *f, uint32_t job, bool may_join, const char **reason)
	RUNS_ON(role_session)
{
	struct refresh_job j = {.id = job};
	bool joins = f->peer->up->n.enhanced_route_refresh && may_join && request_under_way(f);

	if (!jobs_add(f, &f->import_jobs, &j)) {
		*reason = "out-of-memory";
		return REFRESH_UNSUPPORTED;
	}
	if (joins)
		request_sent(f);
	else if (!f->request_owed)
		request_send(f);
	return REFRESH_SENT;
}

enum refresh_action
session_refresh_import(
	struct speaker *s, struct peer_id id, enum family family, uint32_t job, const char **reason)
{
	enum refresh_action action;
	struct peer_family *f = family_of(s, id, family, reason, &action);
	bool keeps;

	if (f == NULL)
		return action;
	keeps = f->peer->config.families[family].keep_all_routes;
	if (!f->peer->up->n.route_refresh) {
		*reason = keeps ? NULL : "no-route-refresh";
		return keeps ? REFRESH_REPLAYED : REFRESH_UNSUPPORTED;
	}
	if (keeps) {
		*reason = "keep-all-routes";
		return REFRESH_NO_OP;
	}
	return refresh_ask(f, job, true, reason);
}

enum refresh_action
session_refresh_fill(
	struct speaker *s, struct peer_id id, enum family family, uint32_t job, const char **reason)
{
	enum refresh_action action;
	struct peer_family *f = family_of(s, id, family, reason, &action);

	if (f == NULL)
		return action;
	if (!f->peer->up->n.route_refresh) {
		*reason = "no-route-refresh";
		return REFRESH_UNSUPPORTED;
	}
	return refresh_ask(f, job, false, reason);
}

bool
session_export_job(struct speaker *s, struct peer_id id, enum family family, uint32_t job)
{
	enum refresh_action action;
	const char *reason;
	struct peer_family *f = family_of(s, id, family, &reason, &action);
	struct refresh_job j = {.id = job};

	if (f == NULL)
		return false;
	j.walk = update_group_settle(f->group);
	f->peer->speaker->export_all = true;
	return jobs_add(f, &f->policy_jobs, &j);
}

enum refresh_action
session_refresh_export(
	struct speaker *s, struct peer_id id, enum family family, uint32_t job, const char **reason)
{
	enum refresh_action action;
	struct peer_family *f = family_of(s, id, family, reason, &action);
	struct refresh_job j = {.id = job};

	if (f == NULL)
		return action;
	j.walk = f->walks + UINT32_MAX / 4; /* until the number of its walk is known */
	if (!jobs_add(f, &f->export_jobs, &j)) {
		*reason = "out-of-memory";
		return REFRESH_UNSUPPORTED;
	}
	if (refresh_serve_order(&f->serve, f->end_of_rib_sent, now_ns()))
		walk_begin_refresh(f);
	/*
	 * keel-policy(7) rule 6: route refresh is optional here; *reason reports a peer without it.
	 */
	if (!f->peer->up->n.route_refresh)
		*reason = "no-route-refresh";
	f->export_jobs.job[f->export_jobs.count - 1].walk =
		f->serve.pending ? f->walks + 1 : f->walks;
	return REFRESH_READVERTISED;
}

const char *
refresh_action_text(enum refresh_action a)
{
	static const char *const text[] = {
		[REFRESH_SENT] = "route-refresh-sent",
		[REFRESH_REPLAYED] = "replayed",
		[REFRESH_READVERTISED] = "readvertised",
		[REFRESH_NO_OP] = "no-op",
		[REFRESH_UNSUPPORTED] = "unsupported",
		[REFRESH_NOT_ESTABLISHED] = "not-established",
	};

	return text[a];
}
