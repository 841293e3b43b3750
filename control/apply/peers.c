/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/peers.h"

#include "control/apply/peers_impl.h"
#include "control/config/config.h"

#include <stdlib.h>

struct peers *
peers_create(const struct config *running)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (p != NULL)
		p->running = running;
	return p;
}

void
peers_destroy(struct peers *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 1; i < PEER_MAX; i++) {
		if (p->slot[i].config != NULL && p->slot[i].config->dynamic)
			free((void *)(uintptr_t)p->slot[i].config);
	}
	free(p->of_config);
	free(p);
}

struct peer_id
peers_id_new(struct peers *p)
{
	for (uint16_t i = 1; i < PEER_MAX; i++) {
		if (!p->slot[i].used && !p->slot[i].removing) {
			p->slot[i] = (struct peer_slot){.id = {i}, .used = true};
			return p->slot[i].id;
		}
	}
	return (struct peer_id){0};
}

void
peers_id_free(struct peers *p, struct peer_id id, uint64_t now_ns)
{
	struct former_peer *f = &p->former[p->former_count++ % PEERS_FORMER];

	*f = (struct former_peer){.addr = p->slot[id.v].addr, .id = id, .until_ns = now_ns};
	p->slot[id.v].removing = false;
}

bool
peers_address(const struct peers *p, struct peer_id id, uint64_t time_ns, struct ip_addr *out)
{
	uint64_t n = p->former_count, i = n > PEERS_FORMER ? n - PEERS_FORMER : 0;
	const struct peer_slot *slot = &p->slot[id.v % PEER_MAX];

	/* the first of that id to go after the time */
	for (; i < n; i++) {
		const struct former_peer *f = &p->former[i % PEERS_FORMER];

		if (f->id.v == id.v && f->until_ns >= time_ns) {
			*out = f->addr;
			return true;
		}
	}
	*out = slot->config != NULL ? slot->config->addr : slot->addr;
	return slot->config != NULL || slot->removing;
}

struct peer_id
peers_id(const struct peers *p, const struct config_peer *c)
{
	if (c >= p->running->peers && c < p->running->peers + p->running->peer_count)
		return p->of_config[c - p->running->peers];
	for (uint16_t i = 1; i < PEER_MAX; i++) {
		if (p->slot[i].config == c)
			return p->slot[i].id;
	}
	return (struct peer_id){0};
}

const struct config_peer *
peers_config(const struct peers *p, struct peer_id id)
{
	return id.v < PEER_MAX ? p->slot[id.v].config : NULL;
}

/* The first dynamic peer with a higher id. */
static struct peer_id
dynamic_next(const struct peers *p, uint16_t after)
{
	for (unsigned i = after + 1u; i < PEER_MAX; i++) {
		if (p->slot[i].config != NULL && p->slot[i].config->dynamic)
			return p->slot[i].id;
	}
	return (struct peer_id){0};
}

struct peer_id
peers_next(const struct peers *p, struct peer_id after)
{
	const struct config_peer *c = peers_config(p, after);
	unsigned next = 0;

	if (c != NULL && c->dynamic)
		return dynamic_next(p, after.v);
	if (c != NULL)
		next = (unsigned)(c - p->running->peers) + 1;
	return next < p->running->peer_count ? p->of_config[next] : dynamic_next(p, 0);
}

const struct config_peer *
peers_find(const struct peers *p, struct vrf_id vrf, const struct ip_addr *addr)
{
	const struct config_peer *configured = config_peer_find(p->running, vrf, addr);

	if (configured != NULL)
		return configured;
	for (struct peer_id id = {0}; (id = dynamic_next(p, id.v)).v != 0;) {
		const struct config_peer *c = peers_config(p, id);

		if (c->vrf.v == vrf.v && addr_equal(&c->addr, addr))
			return c;
	}
	return NULL;
}
