/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of received messages and of changed states: BGP4MP, RFC 6396 4.4. */
#include "control/session/session_impl.h"

#include "control/base/record_file.h"
#include "control/bgp/wire.h"

#include <time.h>

/*
 * Times in seconds: BGP4MP_ET (RFC 6396 3, not done) has microseconds, but mrtparse 1.6 of Debian 12 fails at its records.
 */
enum { BGP4MP = 16, BGP4MP_MESSAGE = 1, BGP4MP_MESSAGE_AS4 = 4, BGP4MP_STATE_CHANGE_AS4 = 5 };
enum { LENGTH_AT = 8, HEADER = 12, HEAD_MAX = 64 };

void
speaker_record(struct speaker *s, struct record_file *const *files, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		s->record[i] = files[i];
	s->record_count = count;
}

bool
session_index_peek(struct speaker *s, struct peer_id id, struct session_index *out)
{
	const struct peer *p = peer_find(s, id);

	if (p == NULL || p->removed)
		return false;
	*out = (struct session_index){.vrf = p->config.vrf,
		.addr = p->config.addr,
		.identifier = p->up != NULL ? p->up->open.identifier : 0,
		.asn = p->config.asn != 0 ? p->config.asn
		       : p->up != NULL	  ? p->up->open.asn
					  : 0};
	return true;
}

static void
as_put(struct wr *w, uint32_t asn, bool as4)
{
	if (as4)
		wr_u32(w, asn);
	else
		wr_u16(w, (uint16_t)(asn > UINT16_MAX ? AS_TRANS : asn)); /* RFC 6793 4.2.2 */
}

/* The addresses of RFC 6396 4.4.1: of the peer, and ours, or zeros. */
static void
addresses_put(struct wr *w, const struct connection *c)
{
	static const struct ip_addr none;
	const struct ip_addr *remote = &c->peer->config.addr;
	const struct ip_addr *local = c->local_addr.afi == remote->afi ? &c->local_addr : &none;
	unsigned len = remote->afi == AFI_IPV6 ? 16 : 4;

	wr_bytes(w, remote->b, len);
	wr_bytes(w, local->b, len);
}

/* Puts a record into all files: `subtype`, the peer, and `body`. */
static void
mrt_put(const struct connection *c, unsigned subtype, const uint8_t *body, size_t len)
{
	const struct peer *p = c->peer;
	const struct speaker *s = p->speaker;
	bool as4 = subtype != BGP4MP_MESSAGE;
	uint8_t head[HEAD_MAX];
	struct wr w = wr_init(head, sizeof(head));
	uint32_t now_s = (uint32_t)time(NULL);
	size_t head_len;

	wr_u32(&w, now_s);
	wr_u16(&w, BGP4MP);
	wr_u16(&w, (uint16_t)subtype);
	wr_u32(&w, 0); /* the length: below */
	as_put(&w, p->config.asn != 0 ? p->config.asn : c->open.asn, as4);
	as_put(&w, peer_local_as(p), as4);
	wr_u16(&w, 0); /* no interface index */
	wr_u16(&w, p->config.addr.afi == AFI_IPV6 ? 2 : 1);
	addresses_put(&w, c);
	head_len = wr_len(&w);
	w = wr_init(head + LENGTH_AT, 4);
	wr_u32(&w, (uint32_t)(head_len - HEADER + len));
	for (unsigned i = 0; i < s->record_count; i++)
		record_file_put(s->record[i], now_s, head, head_len, body, len);
}

void
mrt_received(const struct connection *c, const uint8_t *msg, size_t len)
{
	/* RFC 6396 4.4.2, 4.4.3: the subtype defines the size of AS numbers in an UPDATE */
	bool as4 = c->n.as4 || msg[18] != BGP_UPDATE;

	if (c->peer->config.vrf.v == VRF_DEFAULT.v)
		mrt_put(c, as4 ? BGP4MP_MESSAGE_AS4 : BGP4MP_MESSAGE, msg, len);
}

/* RFC 6396 4.4.4. The states of RFC 4271 8.2.2 count from 1. */
void
mrt_state(const struct connection *c)
{
	struct peer *p = c->peer;
	uint8_t old = p->noted_state, state = (uint8_t)peer_state(p);
	uint8_t body[4] = {0, (uint8_t)(old + 1), 0, (uint8_t)(state + 1)};

	p->noted_state = state;
	if (state != old && p->speaker->record_count != 0 && p->config.vrf.v == VRF_DEFAULT.v)
		mrt_put(c, BGP4MP_STATE_CHANGE_AS4, body, sizeof(body));
}
