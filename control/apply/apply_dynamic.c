/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic peers: who comes by a listen range gets a peer id and a configuration made of its group, until it is down again. */
#include "control/apply/apply_impl.h"

#include "control/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
session_order_ranges(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	o->result = speaker_ranges(o->k->speaker, o->ranges, o->range_count);
}

void
apply_ranges(struct keeld *k, const struct config *c)
{
	struct speaker_range *ranges = calloc(c->range_count + 1, sizeof(*ranges));
	struct order o = {
		.k = k, .ranges = ranges, .range_count = c->range_count, .result = -ENOMEM};

	for (unsigned i = 0; ranges != NULL && i < c->range_count; i++)
		ranges[i] = (struct speaker_range){
			c->ranges[i].vrf, c->ranges[i].prefix, c->ranges[i].peer.password};
	if (ranges != NULL)
		thread_call(k->session_thread, session_order_ranges, &o);
	if (o.result != 0)
		log_event(LOG_ERROR, "listen-ranges-not-set error=\"%s\"", strerror(-o.result));
	free(ranges);
}

unsigned
apply_dynamic_count(const struct keeld *k)
{
	unsigned n = 0;

	for (struct peer_id id = {0}; (id = keeld_peer_next(k, id)).v != 0;)
		n += keeld_peer_config(k, id)->dynamic;
	return n;
}

/* What a range makes of a peer that is there. */
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

/* Ends the peer; its configuration, too. */
static void
dynamic_end(struct keeld *k, struct peer_id id)
{
	struct config_peer *p = (struct config_peer *)(uintptr_t)k->peers[id.v].config;

	apply_peer_stop(k, id);
	free(p);
}

static void
session_order_refuse(void *arg)
{
	struct order *o = arg;

	role_enter_session();
	speaker_refuse(o->k->speaker, o->stranger->vrf, &o->stranger->addr);
}

/* Else its connection is held until it is too late for another one. */
static void
dynamic_refuse(struct keeld *k, const struct session_event *e)
{
	struct order o = {.k = k, .stranger = e};

	thread_call(k->session_thread, session_order_refuse, &o);
}

static void
dynamic_begin(struct keeld *k, const struct session_event *e)
{
	const struct config_range *r = config_range_find(k->running, e->vrf, &e->addr);
	char addr[ADDR_TEXT_MAX];
	struct config_peer *p;
	struct peer_id id;

	if (r == NULL || keeld_peer_find(k, e->vrf, &e->addr) != NULL)
		return; /* the configuration changed since */
	if (apply_dynamic_count(k) >= k->running->listen_limit) {
		log_event(LOG_WARNING, "dynamic-peer-refused peer=%s reason=listen-limit limit=%u",
			addr_format(&e->addr, addr), k->running->listen_limit);
		dynamic_refuse(k, e);
		return;
	}
	p = dynamic_config(r, &e->addr);
	id = p != NULL ? apply_peer_id_new(k) : (struct peer_id){0};
	if (id.v == 0) {
		log_event(LOG_ERROR, "dynamic-peer-refused peer=%s reason=%s",
			addr_format(&e->addr, addr),
			p != NULL ? "too-many-peers" : "out-of-memory");
		dynamic_refuse(k, e);
		free(p);
		return;
	}
	k->peers[id.v].config = p;
	if (apply_peer_start(k, k->running, p, id) == 0)
		return;
	dynamic_refuse(k, e);
	dynamic_end(k, id);
}

/* Of a range without an AS number its OPEN has told whose it is. */
static void
dynamic_up(struct keeld *k, struct peer_id id)
{
	struct config_peer *p = (struct config_peer *)(uintptr_t)k->peers[id.v].config;
	struct session_view view;

	apply_peek(k, id, &view);
	if (view.state != FSM_ESTABLISHED)
		return;
	p->asn = view.remote_asn;
	p->external = view.external;
}

void
apply_dynamic_event(struct keeld *k, const struct session_event *e)
{
	const struct config_peer *p;
	struct session_view view;

	if (e->kind == SESSION_DYNAMIC) {
		dynamic_begin(k, e);
		return;
	}
	p = keeld_peer_config(k, e->peer);
	if (p == NULL || !p->dynamic) /* gone, or the document names it by now */
		return;
	if (e->kind == SESSION_UP && p->asn == 0)
		dynamic_up(k, e->peer);
	if (e->kind != SESSION_DYNAMIC_GONE)
		return;
	apply_peek(k, e->peer, &view);
	if (view.state != FSM_ESTABLISHED) /* else it has the id of the one that is meant */
		dynamic_end(k, e->peer);
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

/* Its change, or its end. True: *out is it; `was` is the caller's. */
static bool
dynamic_change(struct keeld *k, const struct config *old, struct peer_id id,
	const struct config_range *r, struct change *out, json_t *effects)
{
	struct config_peer *was = (struct config_peer *)(uintptr_t)k->peers[id.v].config;
	struct config_peer *is = r != NULL ? malloc(sizeof(*is)) : NULL;

	if (is == NULL) {
		apply_effect_removed(effects, was);
		dynamic_end(k, id);
		return false;
	}
	range_peer(r, was, is);
	k->peers[id.v].config = is;
	*out = (struct change){.old = old, .next = k->running, .was = was, .is = is, .id = id};
	return true;
}

unsigned
apply_dynamic_changes(
	struct keeld *k, const struct config *old, struct change *out, json_t *effects)
{
	unsigned n = 0;

	for (unsigned i = 1; i < PEER_MAX; i++) {
		const struct config_peer *p = k->peers[i].config;

		if (p != NULL && p->dynamic &&
			dynamic_change(k, old, k->peers[i].id,
				config_range_find(k->running, p->vrf, &p->addr), &out[n], effects))
			n++;
	}
	return n;
}

void
apply_dynamic_fini(struct keeld *k)
{
	for (unsigned i = 1; i < PEER_MAX; i++) {
		if (k->peers[i].config != NULL && k->peers[i].config->dynamic)
			free((void *)(uintptr_t)k->peers[i].config);
	}
}
