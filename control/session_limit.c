/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * max_prefixes: a peer that sends more than was agreed (RFC 4486 4). The shard counts what it stores, later than we read it; so the
 * counts are looked at again and again for as long as something of such a peer may still be under way.
 */
#include "control/session_impl.h"

#include "control/log.h"

/* What is not with the shards yet gets there within this time, many times over. */
#define LIMIT_LOOK_NS 20000000u
#define LIMIT_LOOKS 100u

static void
limit_warn(struct peer_family *f, uint64_t received, const char *action)
{
	const struct config_family *k = &f->peer->config.families[f->family];

	log_event(LOG_WARNING,
		"max-prefixes peer=%s vrf=%s family=%s received=%llu limit=%u action=%s",
		f->peer->config.addr_text, f->peer->vrf_name, family_text(f->family),
		(unsigned long long)received, k->max_prefixes, action);
}

/* Idle until somebody resets it: to come back by itself would be to begin anew, full table by full table. */
static void
limit_shut(struct peer_family *f) RUNS_ON(role_session)
{
	struct peer *p = f->peer;
	uint32_t limit = p->config.families[f->family].max_prefixes;
	uint8_t data[7];
	struct wr w = wr_init(data, sizeof(data));
	struct note note = {.code = ERR_CEASE,
		.subcode = CEASE_MAX_PREFIXES,
		.data = data,
		.data_len = sizeof(data)};

	wr_u16(&w, family_afi(f->family));
	wr_u8(&w, (uint8_t)family_safi(f->family));
	wr_u32(&w, limit);
	peer_stop(p, &note);
	p->held = true;
}

static void
limit_check(struct peer *p) RUNS_ON(role_session)
{
	for (enum family id = 0; id < FAMILY_COUNT && p->up != NULL; id++) {
		const struct config_family *k = &p->config.families[id];
		struct peer_family *f = &p->family[id];
		struct adj_rib_in_counts counts;

		if (k->max_prefixes == 0 || f->over_limit || !(p->up->n.families & 1u << id))
			continue;
		shards_peer_counts(&p->speaker->shards, p->id, id, &counts);
		if (counts.received != f->received_seen)
			p->speaker->limit_looks = LIMIT_LOOKS; /* the shard is at it */
		f->received_seen = counts.received;
		if (counts.received <= k->max_prefixes)
			continue;
		f->over_limit = true;
		limit_warn(f, counts.received, k->max_prefixes_shutdown ? "shutdown" : "warning");
		if (k->max_prefixes_shutdown)
			limit_shut(f);
	}
}

/* Nothing is on its way in a shard's input, where it may be for long: while tombstones wait for the fib thread, say. */
static bool
inputs_idle(const struct speaker *s) RUNS_ON(role_session)
{
	for (unsigned i = 0; i < s->shards.count; i++)
		if (!shard_input_idle(s->input[i].to))
			return false;
	return true;
}

static void
limits_fire(struct timer *t)
{
	struct speaker *s = container_of(t, struct speaker, limits);
	struct peer *p;
	bool idle;

	role_enter_session();
	idle = inputs_idle(s); /* before the counts are read */
	RING_EACH (p, &s->established, established) {
		if (p->limited)
			limit_check(p);
	}
	if (s->limit_looks > 0 || !idle) {
		s->limit_looks -= s->limit_looks > 0;
		timer_arm(s->thread, t, LIMIT_LOOK_NS);
	}
}

void
limit_received(struct peer *p)
{
	struct speaker *s = p->speaker;

	if (!p->limited)
		return;
	s->limit_looks = LIMIT_LOOKS;
	if (s->limits.deadline_ns == 0)
		timer_arm(s->thread, &s->limits, LIMIT_LOOK_NS);
}

void
limit_config(struct peer *p)
{
	p->limited = false;
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p->limited |= p->config.families[f].max_prefixes != 0;
	/* What is there counts from now on, too. */
	if (p->up != NULL)
		limit_received(p);
}

void
limit_up(struct peer *p)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p->family[f].over_limit = false;
}

bool
limit_changed(const struct config_peer *a, const struct config_peer *b)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (a->families[f].max_prefixes != b->families[f].max_prefixes ||
			a->families[f].max_prefixes_shutdown !=
				b->families[f].max_prefixes_shutdown)
			return true;
	}
	return false;
}

void
limits_init(struct speaker *s)
{
	s->limits.fire = limits_fire;
}
