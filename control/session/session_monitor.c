/* SPDX-License-Identifier: BSD-3-Clause */
/* What BMP reports of sessions (control/bmp): both OPENs, the NOTIFICATION at the end, which peers changed, and Adj-RIB-Out. */
#include "control/session/session_impl.h"

#include <string.h>
#include <sys/socket.h>

void
message_forget(struct speaker *s, struct kept_message *m)
{
	arena_free(s->config.arena, m->octets);
	*m = (struct kept_message){0};
}

void
message_keep(struct speaker *s, struct kept_message *m, const uint8_t *octets, size_t len)
{
	message_forget(s, m);
	if (len == 0 || len > MONITOR_MESSAGE_MAX)
		return;
	m->octets = arena_alloc(s->config.arena, len);
	if (m->octets == NULL)
		return;
	memcpy(m->octets, octets, len);
	m->len = (uint16_t)len;
}

void
monitor_changed(struct peer *p)
{
	struct speaker *s = p->speaker;

	atomic_fetch_or_explicit(
		&s->monitor[p->id.v / 64], 1ull << p->id.v % 64, memory_order_relaxed);
	/* release: pairs with the exchange in speaker_monitor_changed() */
	atomic_store_explicit(&s->monitor_any, true, memory_order_release);
}

bool
speaker_monitor_changed(struct speaker *s, uint64_t peers[PEER_WORDS])
{
	/* relaxed: a later call sees the change */
	if (!atomic_load_explicit(&s->monitor_any, memory_order_relaxed))
		return false;
	/* acquire: pairs with the release in monitor_changed() */
	(void)atomic_exchange_explicit(&s->monitor_any, false, memory_order_acquire);
	for (unsigned i = 0; i < PEER_WORDS; i++)
		peers[i] |= atomic_exchange_explicit(&s->monitor[i], 0, memory_order_relaxed);
	return true;
}

void
monitor_notification(struct connection *c, bool sent, const uint8_t *msg, size_t len)
{
	struct peer *p = c->peer;

	if (p->up != c)
		return;
	message_keep(p->speaker, &p->fall_message, msg, len);
	p->fall_sent = sent;
}

static uint16_t
message_copy(uint8_t *to, const struct kept_message *m)
{
	if (m->octets != NULL)
		memcpy(to, m->octets, m->len);
	return m->len;
}

bool
session_monitor_peek(struct speaker *s, struct peer_id id, struct session_monitor *out)
{
	const struct peer *p = peer_find(s, id);

	if (p == NULL)
		return false;
	out->id = id;
	out->vrf = p->config.vrf;
	out->up = p->up != NULL;
	out->count = p->session_number;
	out->remote = p->config.addr;
	out->sent_len = out->received_len = 0;
	out->fall_len = message_copy(out->fall, &p->fall_message);
	out->fall_sent = p->fall_sent;
	out->fall_event = p->fall_event;
	if (p->up == NULL)
		return true;
	out->since_ns = wall_ns() - (now_ns() - p->established_ns);
	out->asn = p->up->open.asn;
	out->identifier = p->up->open.identifier;
	out->as4 = p->up->n.as4;
	out->families = p->up->n.families;
	out->local = p->up->local_addr;
	out->local_port = socket_port(p->up->watch.fd, false);
	out->remote_port = socket_port(p->up->watch.fd, true);
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		out->advertised[f] = p->family[f].group != NULL
					     ? update_group_advertised(p->family[f].group)
					     : 0;
	out->sent_len = message_copy(out->sent, &p->up->open_sent);
	out->received_len = message_copy(out->received, &p->up->open_received);
	return true;
}

void
speaker_monitor_out(struct speaker *s, struct path_ring *ring)
{
	s->out_changes = ring;
	if (s->groups != NULL)
		update_groups_monitor(s->groups, ring);
}

bool
speaker_out_named(const struct speaker *s, const struct path_change *name, enum family *family,
	struct table_id *table, uint64_t peers[PEER_WORDS])
{
	return s->groups != NULL && update_group_named(s->groups, name, family, table, peers);
}
