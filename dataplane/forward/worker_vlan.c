/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tags of ports on VLANs (IEEE 802.1Q, 802.1ad), at both ends of a worker's way: a received frame loses the tags
 * before the burst is split, and a frame to be sent gets the tags last. All stages between see a port like any other.
 */
#include "dataplane/forward/forward.h"
#include "dataplane/forward/worker_struct.h"
#include "dataplane/port/port_inner.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <string.h>

/* ---- main ---- */

static unsigned
chain_of(uint16_t parent, struct port_vlan vlan)
{
	return (unsigned)hash_mix(
		       (uint64_t)parent << 32 | (uint32_t)vlan.inner << 16 | vlan.outer) %
	       VLAN_CHAINS;
}

void
vlan_ports_add(struct worker_ports *next, uint16_t port)
{
	struct vlan_ports *v = &next->vlans;
	unsigned chain = chain_of(v->key[port].parent, next->tx[port].vlan);

	v->key[port].vlan = next->tx[port].vlan;
	v->next[port] = v->first[chain];
	v->first[chain] = (uint8_t)(port + 1);
}

void
vlan_tags(struct port_vlan vlan, uint8_t tag[2 * VLAN_TAG], uint16_t *octets)
{
	const uint16_t word[2][2] = {
		{vlan.inner != 0 ? RTE_BE16(RTE_ETHER_TYPE_QINQ) : RTE_BE16(RTE_ETHER_TYPE_VLAN),
			rte_cpu_to_be_16(vlan.outer)},
		{RTE_BE16(RTE_ETHER_TYPE_VLAN), rte_cpu_to_be_16(vlan.inner)}};

	*octets = vlan.outer == 0 ? 0 : vlan.inner == 0 ? VLAN_TAG : 2 * VLAN_TAG;
	memcpy(tag, word, sizeof(word));
}

/* ---- received frames ---- */

/* The identifiers of the tags of a frame, at most two. */
struct tags {
	unsigned count;
	unsigned inside; /* of them in the frame: the device may have removed the outer one */
	uint16_t id[2];
};

static struct tags
tags_of(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct tags t = {0};

	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		t.id[t.count++] = m->vlan_tci & VLAN_ID;
	while (t.count < 2 && rte_pktmbuf_data_len(m) >= ETHER_LEN + VLAN_TAG * (t.inside + 1)) {
		uint16_t word[2]; /* EtherType of the tag, control information */

		memcpy(word, frame + 12 + VLAN_TAG * t.inside, sizeof(word));
		if (word[0] != RTE_BE16(RTE_ETHER_TYPE_VLAN) &&
			word[0] != RTE_BE16(RTE_ETHER_TYPE_QINQ))
			break;
		t.id[t.count++] = rte_be_to_cpu_16(word[1]) & VLAN_ID;
		t.inside++;
	}
	return t;
}

static unsigned
port_of(const struct vlan_ports *v, uint16_t parent, uint16_t outer, uint16_t inner)
{
	const struct port_vlan vlan = {outer, inner};
	unsigned place = v->first[chain_of(parent, vlan)];

	for (; place != 0; place = v->next[place - 1]) {
		const struct vlan_key *k = &v->key[place - 1];

		if (k->parent == parent && k->vlan.outer == outer && k->vlan.inner == inner)
			return place - 1;
	}
	return PORTS_MAX;
}

/* Removes the first `count` tags of the frame. */
static void
pop(struct rte_mbuf *m, unsigned count)
{
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);

	m->ol_flags &= ~RTE_MBUF_F_RX_VLAN_STRIPPED;
	memmove(frame + VLAN_TAG * count, frame, 2 * RTE_ETHER_ADDR_LEN);
	m->data_off = (uint16_t)(m->data_off + VLAN_TAG * count);
	m->data_len = (uint16_t)(m->data_len - VLAN_TAG * count);
	m->pkt_len -= VLAN_TAG * count;
}

/* A port with both tags comes before a port with the outer tag alone, which leaves the inner tag in the frame. */
unsigned
vlan_take(struct worker *w, const struct source *s, struct rte_mbuf **pkt, unsigned n)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(rte_pktmbuf_mtod(pkt[i], const void *));
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkt[i];
		struct tags t = tags_of(m);
		unsigned port = PORTS_MAX, inside = t.inside;

		if (t.count == 2 && t.id[1] != 0)
			port = port_of(&w->vlans, s->port, t.id[0], t.id[1]);
		if (port == PORTS_MAX && t.count > 0 && t.id[0] != 0) {
			port = port_of(&w->vlans, s->port, t.id[0], 0);
			inside -= t.count == 2;
		}
		if (port == PORTS_MAX) {
			pkt[left++] = m;
			continue;
		}
		count_add(&w->vlan_counters[port].rx_packets, 1);
		count_add(&w->vlan_counters[port].rx_bytes, rte_pktmbuf_pkt_len(m));
		pop(m, inside);
		m->port = (uint16_t)port;
		w->tagged.pkt[w->tagged.count++] = m;
	}
	return left;
}

unsigned
vlan_next(struct worker *w, struct rte_mbuf **pkt, uint16_t *port)
{
	struct tagged *t = &w->tagged;
	unsigned n = 0, left = 0;

	*port = t->pkt[0]->port;
	for (unsigned i = 0; i < t->count; i++) {
		if (t->pkt[i]->port == *port)
			pkt[n++] = t->pkt[i];
		else
			t->pkt[left++] = t->pkt[i];
	}
	t->count = left;
	return n;
}

/* ---- frames to be sent ---- */

void
vlan_push(struct worker *w, unsigned port)
{
	struct tx_buffer *t = &w->tx[port];
	unsigned kept = 0;

	for (unsigned i = 0; i < t->count; i++) {
		struct rte_mbuf *m = t->pkt[i];
		uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(m, t->tag_octets);

		if (frame == NULL) { /* no port of Keel receives into a buffer without headroom */
			count_add(&w->stats.drops[DROP_invariant], 1);
			rte_pktmbuf_free_bulk(&m, 1);
			continue;
		}
		memmove(frame, frame + t->tag_octets, 2 * RTE_ETHER_ADDR_LEN);
		for (unsigned k = 0; k < t->tag_octets; k++)
			frame[2 * RTE_ETHER_ADDR_LEN + k] = t->tag[k];
		t->pkt[kept++] = m;
	}
	t->count = kept;
}
