/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/mpls.h"
#include "dataplane/forward/forward.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/forward/udp_tunnel.h"

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <string.h>

#define BOTTOM 0x100u /* S */
#define TRAFFIC_CLASS 0xe00u
#define V4_NULL 0u /* RFC 3032 2.1: explicit nulls */
#define V6_NULL 2u
#define STACK_SPLIT_MAX 8 /* labels of a received packet above IPv4 that may be fragmented */
#define HASHED_LABELS 4 /* labels of a stack that select one of several paths */

static const uint8_t type_mpls[2] = {0x88, 0x47}, type_v4[2] = {0x08, 0x00},
		     type_v6[2] = {0x86, 0xdd};

static inline uint32_t
entry_read(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return rte_be_to_cpu_32(v);
}

static inline void
entry_write(uint8_t *at, uint32_t v)
{
	v = rte_cpu_to_be_32(v);
	memcpy(at, &v, sizeof(v));
}

static inline uint32_t
entry_label(uint32_t entry)
{
	return entry >> 12;
}

static inline uint8_t
entry_ttl(uint32_t entry)
{
	return (uint8_t)entry;
}

/* Bytes from `at`, which may lie before the data, to the end of the first buffer. */
static inline unsigned
bytes_from(const struct rte_mbuf *m, const uint8_t *at)
{
	return rte_pktmbuf_data_len(m) - (unsigned)(at - rte_pktmbuf_mtod(m, const uint8_t *));
}

/* Makes `at` the start of the Ethernet header. */
static inline void
start_at(struct rte_mbuf *m, const uint8_t *at)
{
	int cut = (int)(at - rte_pktmbuf_mtod(m, const uint8_t *));

	m->data_off = (uint16_t)(m->data_off + cut);
	m->data_len = (uint16_t)(m->data_len - cut);
	m->pkt_len = (uint32_t)((int)m->pkt_len - cut);
}

static_assert(offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, pkt_len) + 4,
	"both lengths in a word");

/* Removes one label after the Ethernet header; the buffer is longer than that. */
static inline void
cut_entry(struct rte_mbuf *m)
{
	uint64_t lengths;

	memcpy(&lengths, &m->pkt_len, sizeof(lengths));
	lengths -= (uint64_t)MPLS_ENTRY << 32 | MPLS_ENTRY;
	memcpy(&m->pkt_len, &lengths, sizeof(lengths));
	m->data_off += MPLS_ENTRY;
}

/* ---- hashes ---- */

/* Of the flow of an IP packet; 0: too short, or neither IPv4 nor IPv6. */
static uint64_t
ip_hash(const uint8_t *at, unsigned len) RUNS_ON(role_worker)
{
	if (len >= sizeof(struct rte_ipv4_hdr) && *at >> 4 == 4)
		return rewrite_flow_hash_v4(at, len);
	if (len >= sizeof(struct rte_ipv6_hdr) && *at >> 4 == 6)
		return rewrite_flow_hash_v6(at, len);
	return 0;
}

/* Of the first labels and, below the last one, of the packet's flow. */
static uint32_t
stack_hash(const uint8_t *at, unsigned len) RUNS_ON(role_worker)
{
	uint64_t hash = 0;

	for (unsigned n = 0; n < HASHED_LABELS && len >= MPLS_ENTRY; n++) {
		uint32_t entry = entry_read(at);

		hash = hash_mix(hash ^ entry_label(entry));
		at += MPLS_ENTRY;
		len -= MPLS_ENTRY;
		if (!(entry & BOTTOM))
			continue;
		hash ^= ip_hash(at, len);
		break;
	}
	return (uint32_t)hash_mix(hash);
}

/* ---- sending ---- */

void
mpls_send(struct burst *b, struct rte_mbuf *m, uint8_t *at, const uint8_t type[2],
	const struct mpls_push *push, struct outbox *out)
{
	const struct adjacency *a = push->adjacency;
	bool labelled = type[0] == type_mpls[0] && type[1] == type_mpls[1],
	     udp = a->udp_destination;
	unsigned labels = mpls_push_count(a, push->label, labelled);
	uint8_t *entry = at,
		*start = at - MPLS_ENTRY * labels - ETHER_LEN - (udp ? UDP_TUNNEL_HEADERS : 0);
	uint32_t bottom = labelled ? 0 : BOTTOM, own = push->label;
	unsigned ttl = out->pipe ? UINT8_MAX : push->ttl;

	if (own == LABEL_NONE)
		own = type[0] == type_v6[0] && type[1] == type_v6[1] ? V6_NULL : V4_NULL;
	if (a->port >= out->ports || start < (uint8_t *)m->buf_addr) {
		burst_drop(b, m, DROP_invariant);
		return;
	}
	for (unsigned n = labels; n-- > 0; bottom = 0) {
		uint32_t label = n == a->label_count ? own : a->label[n];

		entry -= MPLS_ENTRY;
		entry_write(entry, label << 12 | (push->dscp >> 3) << 9 | bottom | ttl);
	}
	if (udp) {
		unsigned len = bytes_from(m, at);
		uint32_t hash = labelled ? stack_hash(at, len) : (uint32_t)ip_hash(at, len);

		/* `entry` lies before the data by the labels */
		(void)udp_tunnel_push(entry,
			rte_pktmbuf_pkt_len(m) - (unsigned)(entry - rte_pktmbuf_mtod(m, uint8_t *)),
			a, hash, push->dscp);
		type = type_v4;
	}
	start_at(m, start);
	memcpy(start, a->ether, ETHER_LEN - 2);
	memcpy(start + ETHER_LEN - 2, !udp && labels > 0 ? type_mpls : type, 2);
	tx_add(&out->tx[a->port], m);
	out->pending |= UINT64_C(1) << a->port;
}

/* ---- receiving ---- */

/* A packet of the lane. */
struct labelled {
	struct rte_mbuf *m;
	uint8_t *at; /* the label to act on */
	uint32_t entry; /* at `at` */
};

/* The lane at work. */
struct mpls {
	struct burst *inner;
	const struct mpls_from *from;
	const struct fib_reader *fib;
	struct outbox *out;
};

/*
 * Checks the frame and passes explicit nulls above other labels (RFC 4182): in the uniform model the
 * next label gets the lower TTL, and the traffic class of the null (RFC 3270 2.6.2). Returns DROP_NOT, or
 * a reason to drop.
 */
static inline enum drop_reason
check(const struct mpls *x, struct labelled *p)
{
	unsigned left = bytes_from(p->m, p->at);

	if (!x->from->allowed)
		return DROP_mpls_port;
	if (forward_vlan_stripped(p->m))
		return DROP_vlan_stripped;
	if (left < MPLS_ENTRY)
		return DROP_mpls_short;
	if (forward_is_group(p->m))
		return DROP_link_broadcast;
	p->entry = entry_read(p->at);
	for (unsigned nulls = 0; !(p->entry & BOTTOM) && (entry_label(p->entry) == V4_NULL ||
								 entry_label(p->entry) == V6_NULL);
		nulls++) {
		uint8_t *below = p->at + MPLS_ENTRY;

		left -= MPLS_ENTRY;
		if (nulls == MPLS_NULLS_MAX)
			return DROP_mpls_label;
		if (entry_ttl(p->entry) <= 1)
			return DROP_mpls_ttl;
		if (left < MPLS_ENTRY)
			return DROP_mpls_short;
		if (!x->out->pipe) {
			uint32_t next = entry_read(below);
			uint8_t ttl = entry_ttl(next);

			if (ttl > entry_ttl(p->entry))
				ttl = entry_ttl(p->entry);
			entry_write(below, (next & ~(TRAFFIC_CLASS | 0xffu)) |
						   (p->entry & TRAFFIC_CLASS) | ttl);
		}
		p->at = below;
		p->entry = entry_read(below);
	}
	return DROP_NOT;
}

/* Lowers the TTL or hop limit to `ttl`; the checksum by RFC 1624 equation 3. */
static inline void
ttl_lower(uint8_t *ip, unsigned len, uint8_t ttl)
{
	uint16_t was, is, sum;
	uint32_t changed;

	if (*ip >> 4 == 6) {
		if (len > 7 && ip[7] > ttl)
			ip[7] = ttl;
		return;
	}
	if (len < 12 || ip[8] <= ttl)
		return;
	memcpy(&was, ip + 8, sizeof(was));
	ip[8] = ttl;
	memcpy(&is, ip + 8, sizeof(is));
	memcpy(&sum, ip + 10, sizeof(sum));
	changed = (uint32_t)(uint16_t)~sum + (uint16_t)~was + is;
	changed = (changed & 0xffff) + (changed >> 16);
	changed = (changed & 0xffff) + (changed >> 16);
	sum = (uint16_t)~changed;
	memcpy(ip + 10, &sum, sizeof(sum));
}

/* EtherType of the packet below the last label, or NULL. */
static inline const uint8_t *
payload_type(uint8_t first)
{
	return first >> 4 == 4 ? type_v4 : first >> 4 == 6 ? type_v6 : NULL;
}

/* Removes the last label; the packet joins the lane of its family, with the VRF for the lookup. */
static inline void
pop_ip(struct mpls *x, const struct labelled *p, struct vrf_id vrf)
{
	uint8_t *ip = p->at + MPLS_ENTRY, ttl = entry_ttl(p->entry);
	unsigned len = bytes_from(p->m, ip);
	const uint8_t *frame = rte_pktmbuf_mtod(p->m, const uint8_t *), *type;
	struct lane *l;
	uint64_t front;
	uint32_t back;

	if (len == 0) {
		burst_drop(x->inner, p->m, DROP_mpls_short);
		return;
	}
	type = payload_type(*ip);
	if (type == NULL) {
		burst_drop(x->inner, p->m, DROP_mpls_payload);
		return;
	}
	if (!x->out->pipe) {
		ttl_lower(ip, len, ttl); /* IP forwarding takes one off, and reports the end */
	} else if (ttl <= 1) {
		burst_drop(x->inner, p->m, DROP_mpls_ttl);
		return;
	}
	/* the addresses may overlap their new place */
	memcpy(&front, frame, sizeof(front));
	memcpy(&back, frame + sizeof(front), sizeof(back));
	start_at(p->m, ip - ETHER_LEN);
	memcpy(ip - ETHER_LEN, &front, sizeof(front));
	memcpy(ip - ETHER_LEN + sizeof(front), &back, sizeof(back));
	memcpy(ip - 2, type, 2);
	p->m->port = vrf.v;
	l = type == type_v6 ? &x->inner->v6 : &x->inner->v4;
	l->ip[l->count] = ip;
	l->pkt[l->count++] = p->m;
}

static void
wait_for(struct burst *inner, struct rte_mbuf *m, uint32_t list, struct next_hop_id next_hop)
{
	inner->waiting[inner->waiting_count++] = (struct waiting){
		.pkt = m, .next_hop = next_hop.v, .list = list, .port = PORT_NONE, .afi = AFI_NONE};
}

/*
 * Pops or swaps the label of a packet that leaves by a path list. Returns the start of the packet
 * without the labels to push, and its EtherType; NULL: dropped for *reason.
 */
static uint8_t *
relabel(const struct mpls *x, const struct labelled *p, uint64_t word, const uint8_t **type,
	enum drop_reason *reason)
{
	uint8_t ttl = (uint8_t)(entry_ttl(p->entry) - 1), *below = p->at + MPLS_ENTRY;
	unsigned len = bytes_from(p->m, below);

	*type = type_mpls;
	if (label_word_op(word) == LABEL_SWAP) {
		entry_write(p->at,
			label_word_out(word) << 12 | (p->entry & (TRAFFIC_CLASS | BOTTOM)) | ttl);
		return p->at;
	}
	*reason = DROP_mpls_short;
	if (len < (p->entry & BOTTOM ? 1 : MPLS_ENTRY))
		return NULL;
	if (!(p->entry & BOTTOM)) {
		if (!x->out->pipe && below[3] > ttl)
			below[3] = ttl;
		return below;
	}
	*type = payload_type(*below);
	*reason = DROP_mpls_payload;
	if (*type == NULL)
		return NULL;
	/* RFC 3443 3.3: in the pipe model with a penultimate hop, the TTL of the packet is kept */
	if (!x->out->pipe)
		ttl_lower(below, len, ttl);
	return below;
}

/*
 * RFC 3032 3.4: the place of a valid IPv4 packet without DF below the labels from `at` on, if the
 * packet is longer than `room` octets less the labels. Otherwise NULL. The checksum is verified,
 * because fragments get a new one.
 */
static const uint8_t *
to_split(const struct rte_mbuf *m, const uint8_t *at, bool labelled, unsigned room)
{
	unsigned len = bytes_from(m, at), header_len, total;
	bool bottom = !labelled;

	for (unsigned n = 0; !bottom; n++, at += MPLS_ENTRY, len -= MPLS_ENTRY) {
		if (n == STACK_SPLIT_MAX || len < MPLS_ENTRY || room < MPLS_ENTRY)
			return NULL;
		bottom = entry_read(at) & BOTTOM;
		room -= MPLS_ENTRY;
	}
	if (len < sizeof(struct rte_ipv4_hdr) || *at >> 4 != 4 ||
		!forward_may_split(at, AFI_IPV4, room))
		return NULL;
	header_len = (*at & 15) * 4u;
	total = forward_len(at, AFI_IPV4);
	if (header_len < sizeof(struct rte_ipv4_hdr) || header_len > len || total <= room ||
		total > rte_pktmbuf_pkt_len(m) -
				(unsigned)(at - rte_pktmbuf_mtod(m, const uint8_t *)))
		return NULL;
	return rte_raw_cksum(at, header_len) == 0xffff ? at : NULL;
}

/*
 * Sends a packet by its path as fragments. False: the packet may not be fragmented, and is
 * unchanged.
 */
static bool
send_split(struct mpls *x, struct rte_mbuf *m, uint8_t *at, const uint8_t *type,
	const struct mpls_push *push) RUNS_ON(role_worker)
{
	const struct adjacency *a = push->adjacency;
	bool labelled = type == type_mpls, udp = a->udp_destination != 0;
	unsigned labels = MPLS_ENTRY * mpls_push_count(a, push->label, labelled),
		 dropped = x->inner->dropped_count, below;
	const uint8_t *ip = a->mtu > labels ? to_split(m, at, labelled, a->mtu - labels) : NULL;

	if (ip == NULL)
		return false;
	below = (unsigned)(ip - at);
	mpls_send(x->inner, m, at, type, push, x->out);
	if (x->inner->dropped_count == dropped)
		burst_split(x->inner, m,
			ETHER_LEN + (udp ? UDP_TUNNEL_HEADERS : 0) + labels + below,
			a->mtu - labels - below, udp);
	return true;
}

/* Sends a packet by the path list of its label. */
static void
switch_label(struct mpls *x, const struct labelled *p, uint64_t word) RUNS_ON(role_worker)
{
	struct fib_list list = fib_read_head(x->fib, label_word_target(word));
	uint8_t ttl = (uint8_t)(entry_ttl(p->entry) - 1), *at;
	enum drop_reason reason = DROP_mpls_ttl;
	struct fib_hop hop;
	struct mpls_push push;
	const uint8_t *type;
	unsigned labels;
	uint32_t hash = 0;

	if (entry_ttl(p->entry) <= 1)
		goto drop;
	reason = list.kind == PATH_LIST_BLACKHOLE ? DROP_blackhole : DROP_invariant;
	if (list.kind != PATH_LIST_FORWARD && list.kind != PATH_LIST_PUSH)
		goto drop;
	if (list.path_count > 1)
		hash = rewrite_keyed(stack_hash(p->at, bytes_from(p->m, p->at)), x->out->ecmp_key);
	if (!fib_read_path(x->fib, &list, hash, &hop)) {
		wait_for(x->inner, p->m, label_word_target(word), hop.path.next_hop);
		return;
	}
	at = relabel(x, p, word, &type, &reason);
	if (at == NULL)
		goto drop;
	labels = MPLS_ENTRY * mpls_push_count(&hop.adjacency, hop.path.label, type == type_mpls);
	push = (struct mpls_push){&hop.adjacency, hop.path.label, ttl,
		(uint8_t)((p->entry & TRAFFIC_CLASS) >> 9 << 3)};
	reason = DROP_too_big;
	if (rte_pktmbuf_pkt_len(p->m) + labels -
			(unsigned)(at - rte_pktmbuf_mtod(p->m, const uint8_t *)) <=
		hop.adjacency.mtu)
		mpls_send(x->inner, p->m, at, type, &push, x->out);
	else if (!send_split(x, p->m, at, type, &push))
		goto drop;
	return;
drop:
	burst_drop(x->inner, p->m, reason);
}

static void
act(struct mpls *x, const struct labelled *p, uint64_t word) RUNS_ON(role_worker)
{
	enum drop_reason reason = DROP_mpls_label;
	uint32_t label = entry_label(p->entry);
	struct vrf_id vrf;

	switch (label_word_op(word)) {
	case LABEL_POP_INSTANCE:
		vrf.v = (uint16_t)label_word_target(word);
		reason = DROP_mpls_bottom;
		if (!(p->entry & BOTTOM))
			break;
		reason = DROP_invariant;
		if (vrf.v >= FIB_VRF_MAX)
			break;
		pop_ip(x, p, vrf);
		return;
	case LABEL_POP_FORWARD:
	case LABEL_SWAP:
		switch_label(x, p, word);
		return;
	case LABEL_REMOVED:
		reason = DROP_mpls_removed;
		break;
	case LABEL_UNKNOWN:
		if (label != V4_NULL && label != V6_NULL)
			break;
		/* the last label: check() passes explicit nulls above others */
		pop_ip(x, p, x->from->vrf);
		return;
	case LABEL_SWAP_STACK: /* not in use: the further labels are in the adjacency */
		break;
	}
	burst_drop(x->inner, p->m, reason);
}

/* A packet of any kind. */
static __attribute__((noinline)) void
general(struct mpls *x, struct rte_mbuf *m, uint8_t *at) RUNS_ON(role_worker)
{
	struct labelled p = {.m = m, .at = at};
	enum drop_reason reason = check(x, &p);
	uint32_t label;
	uint64_t word;

	if (reason != DROP_NOT) {
		burst_drop(x->inner, m, reason);
		return;
	}
	label = entry_label(p.entry);
	label_lookup(x->fib->labels, &x->fib->bounds, &label, &word, 1);
	act(x, &p, word);
}

/*
 * Pops the single label of an IPv4 packet, the common kind. False: the packet is of another kind,
 * and unchanged. The Ethernet addresses are not moved: transmission replaces them; the first octet
 * says that the frame was no broadcast.
 */
static inline bool
pop_plain(struct mpls *x, struct rte_mbuf *m, uint8_t *at, uint64_t word,
	const struct fib_generation *generation)
{
	uint16_t vrf = (uint16_t)label_word_target(word);
	uint8_t *ip = at + MPLS_ENTRY;
	struct lane *l = &x->inner->v4;
	uintptr_t table;
	uint32_t entry;

	if (label_word_op(word) != LABEL_POP_INSTANCE || x->out->pipe || vrf >= FIB_VRF_MAX ||
		rte_pktmbuf_data_len(m) < ETHER_LEN + MPLS_ENTRY + sizeof(struct rte_ipv4_hdr) ||
		forward_is_group(m) || forward_vlan_stripped(m))
		return false;
	entry = entry_read(at);
	if (!(entry & BOTTOM) || *ip >> 4 != 4)
		return false;
	/* the header, and the root behind; NULL without a table */
	table = (uintptr_t)generation->v4[vrf].compact;
	__builtin_prefetch((const void *)table);
	__builtin_prefetch((const void *)(table + CACHE_LINE));
	ttl_lower(ip, sizeof(struct rte_ipv4_hdr), entry_ttl(entry));
	cut_entry(m);
	ip[-ETHER_LEN] = 0;
	memcpy(ip - 2, type_v4, 2);
	m->port = vrf;
	l->ip[l->count] = ip;
	l->pkt[l->count++] = m;
	return true;
}

/* All labels are looked up together, because their words may lie in 8 MiB. */
void
mpls_finish(const struct burst *b, struct burst *inner, const struct mpls_from *from,
	const struct fib_reader *fib, const struct fib_generation *generation, struct outbox *out)
{
	static const struct mpls_from tunnel = {.vrf = VRF_DEFAULT, .allowed = true};
	struct mpls x = {.inner = inner, .from = from, .fib = fib, .out = out};
	const struct label_lane *l = &b->mpls;
	unsigned received = l->count - l->tunnelled;
	uint32_t label[BURST_MAX];
	uint64_t word[BURST_MAX];

	/* a buffer has room behind a frame that is too short: the label is then not used */
	for (unsigned i = 0; i < l->count; i++)
		label[i] = entry_label(entry_read(l->ip[i]));
	label_lookup(fib->labels, &fib->bounds, label, word, l->count);
	for (unsigned i = 0; i < l->count; i++) {
		if (i == received)
			x.from = &tunnel;
		if (!x.from->allowed || !pop_plain(&x, l->pkt[i], l->ip[i], word[i], generation))
			general(&x, l->pkt[i], l->ip[i]);
	}
}
