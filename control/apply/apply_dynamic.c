/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dynamic peers: a connection from a listen range makes a peer, with an id and a configuration from
 * the group of the range, until the session ends.
 */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROVEN_NS 60000000000u /* a peer with a session of this length is no stranger */

void
apply_ranges(struct apply *apply, const struct config *c)
{
	struct speaker_range *ranges = calloc(c->range_count + 1, sizeof(*ranges));
	struct session_order o = {
		.kind = SESSION_ORDER_RANGES, .ranges = {.at = ranges, .count = c->range_count}};
	int err = -ENOMEM;

	for (unsigned i = 0; ranges != NULL && i < c->range_count; i++)
		ranges[i] = (struct speaker_range){c->ranges[i].vrf, c->ranges[i].prefix,
			c->ranges[i].peer.password, c->ranges[i].peer.tcp_mss};
	if (ranges != NULL)
		err = session_order(apply->layers, &o);
	if (err != 0)
		log_event(LOG_ERROR, "listen-ranges-not-set error=\"%s\"", strerror(-err));
	free(ranges);
}

unsigned
apply_dynamic_count(const struct apply *apply)
{
	unsigned n = 0;

	for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;)
		n += peers_config(apply->peers, id)->dynamic;
	return n;
}

/*
 * Writes the configuration of a present peer under `r` to *out. The AS number of the peer stays if
 * the range has none.
 */
static void
range_peer(const struct config_range *r, const struct config_peer *was, struct config_peer *out)
{
	config_range_peer(r, &was->addr, out);
	if (out->asn == 0) {
		out->asn = was->asn;
		out->external = was->external;
	}
}

static struct config_peer *
dynamic_config(const struct config_range *r, const struct ip_addr *addr)
{
	struct config_peer *p = malloc(sizeof(*p));

	if (p != NULL)
		config_range_peer(r, addr, p);
	return p;
}

/* Removes the peer and frees the configuration. */
static void
dynamic_end(struct apply *apply, struct peer_id id) RUNS_ON(role_main)
{
	struct config_peer *p = (struct config_peer *)(uintptr_t)apply->peers->slot[id.v].config;

	apply_peer_stop(apply, id);
	free(p);
}

/* Closes the held connection, which otherwise waits for a peer until a timer expires. */
static void
dynamic_refuse(struct apply *apply, const struct session_event *e) RUNS_ON(role_main)
{
	(void)session_order(
		apply->layers, &(struct session_order){.kind = SESSION_ORDER_REFUSE, .refused = e});
}

/*
 * Makes room for a connection: ends the dynamic peer that holds its place for retained routes alone, after a session
 * of less than a minute. The peer that was lost last goes first, so that a stranger who connects and
 * leaves again, with a restart time of 4,095 s, takes the places of his own former sessions. False: no such peer.
 */
static bool
dynamic_evict(struct apply *apply) RUNS_ON(role_main)
{
	uint64_t before_ns = UINT64_MAX;
	struct session_view view;

	for (;;) {
		struct peer_id last = {0};
		const struct peer_slot *slot;

		for (struct peer_id id = {0}; (id = peers_next(apply->peers, id)).v != 0;) {
			slot = &apply->peers->slot[id.v];
			if (slot->config->dynamic && slot->lost_ns != 0 &&
				slot->lost_ns < before_ns &&
				slot->lost_ns - slot->up_ns < PROVEN_NS &&
				(last.v == 0 || slot->lost_ns > apply->peers->slot[last.v].lost_ns))
				last = id;
		}
		if (last.v == 0)
			return false;
		slot = &apply->peers->slot[last.v];
		before_ns = slot->lost_ns;
		apply_peek(apply, last, &view);
		if (view.state >= FSM_OPEN_SENT)
			continue; /* the peer returns */
		log_event(LOG_WARNING,
			"dynamic-peer-evicted peer=%s vrf=%s reason=listen-limit limit=%u",
			slot->config->addr_text, slot->config->vrf_name,
			apply->running->listen_limit);
		dynamic_end(apply, last);
		return true;
	}
}

static void
dynamic_begin(struct apply *apply, const struct session_event *e) RUNS_ON(role_main)
{
	const struct config_range *r = config_range_find(apply->running, e->vrf, &e->addr);
	char addr[ADDR_TEXT_MAX];
	struct config_peer *p;
	struct peer_id id;

	if (r == NULL || peers_find(apply->peers, e->vrf, &e->addr) != NULL)
		return; /* the configuration has changed since the event */
	while (apply_dynamic_count(apply) >= apply->running->listen_limit && dynamic_evict(apply))
		;
	if (apply_dynamic_count(apply) >= apply->running->listen_limit) {
		log_event(LOG_WARNING, "dynamic-peer-refused peer=%s reason=listen-limit limit=%u",
			addr_format(&e->addr, addr), apply->running->listen_limit);
		dynamic_refuse(apply, e);
		return;
	}
	p = dynamic_config(r, &e->addr);
	id = p != NULL ? peers_id_new(apply->peers) : (struct peer_id){0};
	if (id.v == 0) {
		log_event(LOG_ERROR, "dynamic-peer-refused peer=%s reason=%s",
			addr_format(&e->addr, addr),
			p != NULL ? "too-many-peers" : "out-of-memory");
		dynamic_refuse(apply, e);
		free(p);
		return;
	}
	apply->peers->slot[id.v].config = p;
	apply->peers->slot[id.v].up_ns = apply->peers->slot[id.v].lost_ns = 0;
	if (apply_peer_start(apply, apply->running, p, id) == 0)
		return;
	dynamic_refuse(apply, e);
	dynamic_end(apply, id);
}

/* Takes the AS number from the OPEN, for a range without AS number. */
static void
dynamic_up(struct apply *apply, struct peer_id id) RUNS_ON(role_main)
{
	struct config_peer *p = (struct config_peer *)(uintptr_t)apply->peers->slot[id.v].config;
	struct session_view view;

	apply_peek(apply, id, &view);
	if (view.state != FSM_ESTABLISHED)
		return;
	p->asn = view.remote_asn;
	p->external = view.external;
}

void
apply_dynamic_event(struct apply *apply, const struct session_event *e)
{
	const struct config_peer *p;
	struct session_view view;

	if (e->kind == SESSION_DYNAMIC) {
		dynamic_begin(apply, e);
		return;
	}
	p = peers_config(apply->peers, e->peer);
	if (p == NULL || !p->dynamic) /* removed, or configured since */
		return;
	if (e->kind == SESSION_UP && p->asn == 0)
		dynamic_up(apply, e->peer);
	if (e->kind == SESSION_UP)
		apply->peers->slot[e->peer.v].up_ns = now_ns();
	if (e->kind == SESSION_UP || e->kind == SESSION_DOWN)
		apply->peers->slot[e->peer.v].lost_ns = e->kind == SESSION_DOWN ? now_ns() : 0;
	if (e->kind != SESSION_DYNAMIC_GONE)
		return;
	apply_peek(apply, e->peer, &view);
	if (view.state != FSM_ESTABLISHED) /* established: a later peer has the id */
		dynamic_end(apply, e->peer);
}

const struct config_peer *
apply_peer_of(const struct config *next, const struct config_peer *was, struct config_peer *dynamic)
{
	const struct config_peer *is = config_peer_find(next, was->vrf, &was->addr);
	const struct config_range *r;

	if (is != NULL || !was->dynamic)
		return is;
	r = config_range_find(next, was->vrf, &was->addr);
	if (r == NULL)
		return NULL;
	range_peer(r, was, dynamic);
	return dynamic;
}

/*
 * Writes the change of the peer to *out; ends the peer if `r` is NULL. True: out->was belongs to
 * the caller.
 */
static bool
dynamic_change(struct apply *apply, const struct config *old, struct peer_id id,
	const struct config_range *r, struct change *out, json_t *effects) RUNS_ON(role_main)
{
	struct config_peer *was = (struct config_peer *)(uintptr_t)apply->peers->slot[id.v].config;
	struct config_peer *is = r != NULL ? malloc(sizeof(*is)) : NULL;

	if (is == NULL) {
		apply_effect_removed(effects, was);
		dynamic_end(apply, id);
		return false;
	}
	range_peer(r, was, is);
	apply->peers->slot[id.v].config = is;
	*out = (struct change){.old = old, .next = apply->running, .was = was, .is = is, .id = id};
	return true;
}

unsigned
apply_dynamic_changes(
	struct apply *apply, const struct config *old, struct change *out, json_t *effects)
{
	unsigned n = 0;

	for (unsigned i = 1; i < PEER_MAX; i++) {
		const struct config_peer *p = apply->peers->slot[i].config;

		if (p != NULL && p->dynamic &&
			dynamic_change(apply, old, apply->peers->slot[i].id,
				config_range_find(apply->running, p->vrf, &p->addr), &out[n],
				effects))
			n++;
	}
	return n;
}
