/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A shard with one input, driven by hand: tests write records like a session thread, and cut turns
 * as short as needed.
 */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/policy/policy_build.h"
#include "rib/shard/shards.h"
#include "tests/rib/attr_of.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RIG_OWN_ASN 64512u
#define RIG_ROUTER_ID 0xc0000201u

/* Families of prefixes and next hops; the numbers used by tests stay equal in all modes. */
enum rig_mode {
	RIG_V4,
	RIG_V6,
	/* RFC 2545 3: global address ::, the link-local address counts; neighbours in two zones */
	RIG_V6_LINK_LOCAL,
	RIG_V4_OVER_V6, /* RFC 8950 */
	RIG_MODES,
};

static enum rig_mode rig_mode;

static inline const char *
rig_mode_name(void)
{
	static const char *const name[RIG_MODES] = {
		"IPv4", "IPv6", "IPv6, link-local next hops", "IPv4 over IPv6 next hops"};

	return name[rig_mode];
}

static inline enum family
rig_family(void)
{
	return rig_mode == RIG_V4 || rig_mode == RIG_V4_OVER_V6 ? FAMILY_IPV4_UNICAST
								: FAMILY_IPV6_UNICAST;
}

static inline void
rig_put_u32(uint8_t *b, uint32_t v)
{
	b[0] = (uint8_t)(v >> 24);
	b[1] = (uint8_t)(v >> 16);
	b[2] = (uint8_t)(v >> 8);
	b[3] = (uint8_t)v;
}

static inline uint32_t
rig_get_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/*
 * Address of a next hop or peer, `number` below 2^31. Link-local addresses come in pairs that
 * differ only in the zone.
 */
static inline struct ip_addr
rig_hop(uint32_t number)
{
	struct ip_addr a = {.afi = AFI_IPV6, .b = {0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff}};

	if (rig_mode == RIG_V4)
		return addr_from_v4(number);
	rig_put_u32(a.b + 12, number);
	if (rig_mode == RIG_V6_LINK_LOCAL) {
		a = (struct ip_addr){
			.afi = AFI_IPV6, .b = {0xfe, 0x80}, .zone = (uint16_t)(1 + (number & 1))};
		rig_put_u32(a.b + 12, number >> 1);
	}
	return a;
}

static inline uint32_t
rig_hop_number(const struct ip_addr *a)
{
	if (rig_mode == RIG_V4)
		return addr_v4(a);
	if (rig_mode == RIG_V6_LINK_LOCAL)
		return rig_get_u32(a->b + 12) << 1 | (a->zone - 1u);
	return rig_get_u32(a->b + 12);
}

static inline struct ip_addr
rig_peer_addr(uint16_t id)
{
	return rig_hop(0x46336400u + id);
}

static inline uint32_t
rig_prefix_number(const struct prefix *p)
{
	return p->afi == AFI_IPV4 ? prefix_v4(p) : rig_get_u32(p->b + 4);
}

struct rig {
	struct arena *arena;
	struct qsbr *readers;
	struct shard *shard;
	struct shard_input *input;
	struct table_id table;
	struct rib_batch *batch; /* batch being written */
	uint64_t now_ns;
	unsigned woken, evicted;
	struct journal_cursor *last_evicted;
	uint8_t end_of_rib; /* for the next rig_up() */
	bool without_family; /* the next session does not negotiate the family */
	bool bulk; /* the next UPDATEs are part of a whole table */
	uint32_t limit; /* max_prefixes of the next UPDATEs; 0: none */
	bool no_messages; /* messages to the fib thread fail for lack of memory */
	void (*asked)(struct rig *r, const struct nexthop_message *m);
	void *ctx;
};

static inline uint64_t
rig_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void
rig_wake(void *ctx)
{
	((struct rig *)ctx)->woken++;
}

static inline void
rig_evicted(void *ctx, struct journal_cursor *c)
{
	struct rig *r = ctx;

	r->evicted++;
	r->last_evicted = c;
}

static inline bool
rig_ask(void *ctx, const struct nexthop_message *m)
{
	struct rig *r = ctx;

	if (!r->no_messages && r->asked != NULL)
		r->asked(r, m);
	return !r->no_messages;
}

/* shard_config.crowd of the next shards. */
static unsigned rig_crowd;

/* Everything except the shard. */
static inline struct shard_config
rig_begin(struct rig *r, bool tracking)
{
	struct shard_config c = {
		.own_asn = RIG_OWN_ASN,
		.router_id = RIG_ROUTER_ID,
		.crowd = rig_crowd,
		.next_hop_tracking = tracking,
		.wake_consumers = rig_wake,
		.ask_next_hop = rig_ask,
		.evicted = rig_evicted,
	};

	role_enter_rib();
	role_enter_session();
	*r = (struct rig){.now_ns = 1000000000u};
	if (arena_create("rig", &r->arena) != 0 || qsbr_create(r->arena, 8, &r->readers) != 0)
		abort();
	c.arena = r->arena;
	c.readers = r->readers;
	return c;
}

static inline void
rig_shard(struct rig *r, struct shard_config c)
{
	c.wake_ctx = c.ask_ctx = c.evicted_ctx = r;
	if (shard_create(&c, 1, &r->shard) != 0 ||
		shard_table_add(r->shard, VRF_DEFAULT, rig_family(), &r->table) != 0)
		abort();
	r->input = shard_input(r->shard, 0);
}

/* `journal` 0: the default size. */
static inline void
rig_init_journal(struct rig *r, bool tracking, uint32_t journal)
{
	struct shard_config c = rig_begin(r, tracking);

	c.journal_capacity = journal;
	rig_shard(r, c);
}

static inline void
rig_init(struct rig *r, bool tracking)
{
	rig_init_journal(r, tracking, 0);
}

static inline void
rig_end(struct rig *r)
{
	if (r->batch != NULL)
		shard_input_return(r->input, r->batch);
	shard_destroy(r->shard);
}

static inline void
rig_fini(struct rig *r)
{
	rig_end(r);
	qsbr_destroy(r->readers);
	arena_destroy(r->arena);
}

/*
 * Several shards with a shared journal, in the arena and with the readers of the first rig. With
 * `siblings` (SHARDS_MAX, may be NULL) the shards know each other.
 */
static inline void
rigs_init_siblings(struct rig *r, unsigned count, bool tracking, uint32_t journal,
	struct shards *out, struct shard **siblings)
{
	struct shard_config c = rig_begin(r, tracking);
	const struct rig empty = *r;
	struct shard *at[SHARDS_MAX];

	c.siblings = siblings;
	if (journal_create_shared(r->arena, journal, count, &c.journal) != 0)
		abort();
	for (c.index = 0; c.index < count; c.index++) {
		r[c.index] = empty;
		rig_shard(&r[c.index], c);
		at[c.index] = r[c.index].shard;
		if (siblings != NULL)
			siblings[c.index] = at[c.index];
	}
	shards_init(out, at, count);
}

static inline void
rigs_init(struct rig *r, unsigned count, bool tracking, uint32_t journal, struct shards *out)
{
	rigs_init_siblings(r, count, tracking, journal, out, NULL);
}

static inline void
rigs_fini(struct rig *r, unsigned count)
{
	struct journal *journal = shard_journal(r->shard);

	for (unsigned i = 0; i < count; i++)
		rig_end(&r[i]);
	journal_destroy(journal);
	qsbr_destroy(r->readers);
	arena_destroy(r->arena);
}

static inline void
rig_put(struct rig *r)
{
	if (r->batch == NULL)
		return;
	shard_input_put(r->input, r->batch);
	r->batch = NULL;
}

/* One turn with the smallest possible deadline. */
static inline bool
rig_turn(struct rig *r)
{
	r->now_ns += 1000;
	return shard_work(r->shard, r->now_ns, 1);
}

static inline void
rig_settle(struct rig *r)
{
	rig_put(r);
	for (;;) {
		uint64_t now = rig_clock();

		r->now_ns += 1000;
		if (!shard_work(r->shard, r->now_ns, now + 1000000))
			return;
	}
}

/* True when all batches were returned: every record is applied, but walks may still be running. */
static inline bool
rig_drained(struct rig *r)
{
	struct rib_batch *b[RIB_BATCHES_PER_INPUT];
	unsigned n = 0;

	while (n < RIB_BATCHES_PER_INPUT && (b[n] = shard_input_get(r->input)) != NULL)
		n++;
	for (unsigned i = 0; i < n; i++)
		shard_input_return(r->input, b[i]);
	return n == RIB_BATCHES_PER_INPUT;
}

static inline void
rig_drain(struct rig *r)
{
	rig_put(r);
	while (!rig_drained(r))
		(void)rig_turn(r);
}

static inline void *
rig_record(struct rig *r, struct rib_record *head, size_t payload)
{
	struct rib_record *rec;

	head->record_len = (uint32_t)((sizeof(*head) + payload + 7) / 8 * 8);
	if (r->batch != NULL && r->batch->used + head->record_len > r->batch->size)
		rig_put(r);
	while (r->batch == NULL) {
		r->batch = shard_input_get(r->input);
		if (r->batch == NULL)
			(void)rig_turn(r);
	}
	rec = (struct rib_record *)&r->batch->data[r->batch->used];
	memset(rec, 0, head->record_len);
	*rec = *head;
	r->batch->used += head->record_len;
	return rec + 1;
}

static inline unsigned
rig_nlri_form(enum family family, const struct rib_nlri *nlri, unsigned count)
{
	unsigned form = family_safi(family) == SAFI_VPN ? RIB_NLRI_RD : 0;

	for (unsigned i = 0; i < count; i++)
		form |= (nlri[i].path_id != 0 ? RIB_NLRI_PATH_ID : 0u) |
			(nlri[i].label != RIB_LABEL_NONE ? RIB_NLRI_LABEL : 0u);
	return form;
}

/* Withdraws when `attrs` is NULL. */
static inline void
rig_update_in(struct rig *r, enum family family, uint16_t peer, const struct attr_set *attrs,
	const struct rib_nlri *nlri, unsigned count, uint64_t received_ns)
{
	static _Thread_local alignas(8) uint8_t packed[ATTR_PACKED_MAX];
	size_t attrs_len =
		attrs != NULL ? attr_pack(attrs, (struct attr_packed *)(void *)packed) : 0;
	size_t padded = (attrs_len + 7) / 8 * 8;
	struct rib_record head = {
		.kind = RIB_UPDATE,
		.family = (uint8_t)family,
		.peer = {peer},
		.nlri_count = (uint16_t)count,
		.nlri_form = (uint8_t)rig_nlri_form(family, nlri, count),
		.attrs_len = (uint32_t)attrs_len,
		.received_ns = received_ns,
		.bulk = r->bulk ? BULK_TABLE : 0,
		.limit = r->limit,
	};
	uint8_t *body, *to;

	for (unsigned i = 0; i < count; i++)
		head.nlri_len += rib_nlri_len(&nlri[i], head.nlri_form);
	body = rig_record(r, &head, padded + head.nlri_len);
	if (attrs != NULL)
		memcpy(body, packed, attrs_len);
	to = body + padded;
	for (unsigned i = 0; i < count; i++)
		to = rib_nlri_write(to, &nlri[i], head.nlri_form);
	assert(to == body + padded + head.nlri_len);
}

static inline void
rig_update(struct rig *r, uint16_t peer, const struct attr_set *attrs, const struct rib_nlri *nlri,
	unsigned count)
{
	rig_update_in(r, rig_family(), peer, attrs, nlri, count, r->now_ns);
}

static inline void
rig_event(struct rig *r, enum rib_record_kind kind, uint16_t peer)
{
	struct rib_record head = {.kind = (uint8_t)kind,
		.family = (uint8_t)rig_family(),
		.peer = {peer},
		.received_ns = r->now_ns};

	(void)rig_record(r, &head, 0);
}

static inline void
rig_up(struct rig *r, uint16_t peer, uint32_t asn, uint32_t router_id, bool external)
{
	struct rib_record head = {.kind = RIB_SESSION_UP, .peer = {peer}, .received_ns = r->now_ns};
	struct rib_session_up up = {
		.router_id = router_id,
		.asn = asn,
		.external = external,
		.families = (1u << FAMILY_COUNT) - 1,
		.end_of_rib = r->end_of_rib,
		.refreshes = true,
	};

	if (r->without_family)
		up.families &= (uint8_t) ~(1u << rig_family());

	memcpy(rig_record(r, &head, sizeof(up)), &up, sizeof(up));
}

/* The session is lost, its paths are retained. `long_lived`: in a long-lived phase begun earlier. */
static inline void
rig_down_staying(struct rig *r, uint16_t peer, bool long_lived)
{
	struct rib_record head = {
		.kind = RIB_SESSION_DOWN, .peer = {peer}, .received_ns = r->now_ns};
	struct rib_session_down down = {.retain = (uint8_t)(1u << rig_family())};

	down.long_lived = long_lived ? down.retain : 0;
	memcpy(rig_record(r, &head, sizeof(down)), &down, sizeof(down));
}

static inline void
rig_down_retained(struct rig *r, uint16_t peer)
{
	rig_down_staying(r, peer, false);
}

static inline void
rig_peer(struct rig *r, uint16_t id, uint32_t asn, bool external, bool multihop)
{
	struct shard_peer p = {
		.id = {id},
		.addr = rig_peer_addr(id),
		.external = external,
		.multihop = multihop,
		.asn = asn,
	};

	if (shard_peer_add(r->shard, &p) != 0)
		abort();
}

/* A rig with one external peer and next-hop tracking. */
static inline void
rig_simple(struct rig *r, const struct policy *import)
{
	rig_init(r, true);
	rig_peer(r, 1, 65001, true, false);
	shard_peer_import(r->shard, (struct peer_id){1}, rig_family(), import);
	rig_up(r, 1, 65001, 7, true);
}

static inline void
rig_allow_as_in(struct rig *r, uint16_t id, uint8_t count)
{
	struct shard_peer p;

	if (!shard_peer_peek(r->shard, (struct peer_id){id}, &p))
		abort();
	p.allow_as_in[rig_family()] = count;
	if (shard_peer_change(r->shard, &p) != 0)
		abort();
}

static const uint32_t path_65001[] = {65001, 3356};

union rig_attrs {
	struct attr_set a;
	uint8_t room[512];
};

/* Attributes with an AS_PATH of a single AS_SEQUENCE. */
static inline void
rig_attrs_make(union rig_attrs *out, const uint32_t *path, unsigned hops, uint32_t next_hop)
{
	uint8_t *p = out->a.var;

	memset(out, 0, sizeof(*out));
	out->a.next_hop = rig_hop(next_hop);
	if (rig_mode == RIG_V6_LINK_LOCAL) {
		out->a.next_hop_link_local = out->a.next_hop;
		out->a.next_hop = (struct ip_addr){.afi = AFI_IPV6};
	}
	if (hops > 0) {
		*p++ = 2;
		*p++ = (uint8_t)hops;
		for (unsigned i = 0; i < hops; i++) {
			*p++ = (uint8_t)(path[i] >> 24);
			*p++ = (uint8_t)(path[i] >> 16);
			*p++ = (uint8_t)(path[i] >> 8);
			*p++ = (uint8_t)path[i];
		}
		out->a.as_path_len = (uint16_t)(2 + 4 * hops);
	}
	attr_set_derive(&out->a);
}

static inline struct rib_nlri
rig_nlri(uint32_t addr, uint8_t len)
{
	struct ip_addr a = {.afi = AFI_IPV6, .b = {0x20, 0x01, 0x0d, 0xb8}};

	if (rig_family() == FAMILY_IPV4_UNICAST)
		return (struct rib_nlri){.prefix = prefix_from_v4(addr, len), .label = 0xfffff};
	rig_put_u32(a.b + 4, addr);
	return (struct rib_nlri){
		.prefix = prefix_from_addr(&a, (uint8_t)(32 + len)), .label = 0xfffff};
}

/* Prefix number `i` for tests with many prefixes. */
static inline struct rib_nlri
rig_nlri_numbered(unsigned i)
{
	return rig_nlri(0x01000000 + (i << 8), 24);
}

/*
 * A list that permits the numbered prefixes from `first` to before `end`, in steps of `step`. NULL:
 * no memory.
 */
static inline struct policy_prefix_list *
rig_prefix_list(unsigned first, unsigned step, unsigned end)
{
	struct policy_prefix_list *l = NULL;
	int err = policy_prefix_list_create(&l);

	for (unsigned i = first; err == 0 && i < end; i += step) {
		struct prefix p = rig_nlri_numbered(i).prefix;

		err = policy_prefix_list_add(l, true, &p, p.len, p.len);
	}
	if (err == 0)
		err = policy_prefix_list_seal(l);
	return err == 0 ? l : NULL;
}

/* False without a path. */
static inline bool
rig_view(const struct rig *r, const struct prefix *p, struct dest_view *v)
{
	struct dest_table *t = shard_table(r->shard, r->table);
	struct dest_id id = dest_find(t, p);

	return id.v != DEST_NONE && dest_peek(t, id, v) && v->paths != NULL;
}

#define RIG_PATHS_ALL 128u /* of rig_view_all() */

/* As rig_view(), with all paths, valid until the next call. */
static inline bool
rig_view_all(const struct rig *r, const struct prefix *p, struct dest_view *v)
{
	static union {
		struct path_set set;
		uint8_t room[sizeof(struct path_set) + RIG_PATHS_ALL * sizeof(struct rib_path)];
	} room;
	struct dest_table *t = shard_table(r->shard, r->table);
	struct dest_id id = dest_find(t, p);

	return id.v != DEST_NONE && dest_peek_all(t, id, v, &room.set, RIG_PATHS_ALL) &&
	       v->paths != NULL;
}

static inline uint64_t
rig_received(const struct rig *r, uint16_t peer)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(r->shard, (struct peer_id){peer}, rig_family(), &c);
	assert(c.received == c.accepted);
	return c.received;
}

static inline uint64_t
rig_rejected(const struct rig *r, uint16_t peer)
{
	struct adj_rib_in_counts c;

	shard_peer_counts(r->shard, (struct peer_id){peer}, rig_family(), &c);
	return c.rejected_total;
}

static inline void
rig_tell(struct rig *r, uint16_t vrf, uint32_t addr, bool up, bool connected, uint32_t metric)
{
	struct nexthop_message m = {.vrf = {vrf},
		.up = up,
		.connected = connected,
		.metric = metric,
		.addr = rig_hop(addr)};

	shard_next_hop(r->shard, &m);
}
