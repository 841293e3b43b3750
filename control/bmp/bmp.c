/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bmp/bmp.h"

#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/bmp/bmp_msg.h"
#include "control/config/config.h"
#include "control/session/session.h"
#include "lpm/arena.h"
#include "lpm/qsbr.h"
#include "rib/journal.h"
#include "rib/nlri.h"
#include "rib/path_ring.h"
#include "rib/shard.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define POLL_NS 10000000u /* the sources are polled: changes wake no thread */
#define CONNECT_NS (10 * SECOND)
#define BACKOFF_MAX_S 60u
#define DOWN_NS (30 * SECOND) /* a restart of a collector is no alarm */
#define OUT_SIZE (1u << 20)
#define OUT_ROOM (BMP_HEADER_LEN + 2 * MONITOR_MESSAGE_MAX + BGP_EXTENDED_MSG_MAX)
#define OUT_WALK (256u << 10) /* a walk of the tables leaves the rest for live changes */
#define SOCKET_SIZE (256 << 10)
#define RESYNC_NS SECOND /* without a further loss */
#define CHANGES 64u /* in one read section */
#define SCAN 256u /* ids in one read section */
#define ASKED 8u /* sessions in one question to the session thread */
#define OUT_NAMES 64u /* changed routes of Adj-RIB-Out in one question */
#define OUT_ANSWER (2 * ATTR_SET_MAX)
#define OUT_SLICE_NS 200000u /* of a turn of the session thread */
#define OUT_PAUSE_NS 1000000u /* until the next question; four times the slice, if longer */
#define LOC 0u /* the Loc-RIB of the default instance: PEER_SELF */
/* What a Peer Up names: the peers by id, and the Loc-RIB of each instance at PEER_MAX + id of the VRF. */
#define ENTITIES (PEER_MAX + SHARD_VRFS_MAX)
#define ENTITY_WORDS (ENTITIES / 64)
#define INSTANCE_NAME_MAX 64
#define NAME_SIZE (ADDR_TEXT_MAX + 8)
static_assert(OUT_WALK + OUT_ROOM < OUT_SIZE, "room for live changes");

typedef uint64_t entity_bits[ENTITY_WORDS];

static bool
bit(const uint64_t *set, unsigned i)
{
	return set[i / 64] >> i % 64 & 1;
}

static void
bit_set(uint64_t *set, unsigned i)
{
	set[i / 64] |= 1ull << i % 64;
}

static void
bit_clear(uint64_t *set, unsigned i)
{
	set[i / 64] &= ~(1ull << i % 64);
}

static void
bits_add(entity_bits set, const entity_bits more)
{
	for (unsigned i = 0; i < ENTITY_WORDS; i++)
		set[i] |= more[i];
}

/* The lowest bit from `from` on; ENTITIES: none. */
static unsigned
bit_next(const entity_bits set, unsigned from)
{
	for (unsigned i = from / 64; i < ENTITY_WORDS; i++) {
		uint64_t word = set[i];

		if (i == from / 64)
			word &= UINT64_MAX << from % 64;
		if (word != 0)
			return i * 64 + (unsigned)__builtin_ctzll(word);
	}
	return ENTITIES;
}

static bool
is_loc(unsigned id)
{
	return id == LOC || id >= PEER_MAX;
}

static unsigned
loc_of(struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? LOC : PEER_MAX + (unsigned)vrf.v;
}

/* A session as last reported by the session thread. */
struct monitored {
	struct bmp_peer head; /* without flags of a view */
	struct vrf_id vrf;
	bool up, as4, fall_sent;
	uint8_t families;
	uint32_t count; /* of the session */
	uint64_t since_ns;
	struct ip_addr local;
	uint16_t local_port, remote_port;
	uint64_t advertised[FAMILY_COUNT];
	uint16_t sent_len, received_len, fall_len;
	uint8_t octets[]; /* the OPENs, then the NOTIFICATION */
};

enum collector_state { DOWN, CONNECTING, UP };
enum walk_state { WALK_NONE, WALK_ROUTES, WALK_OUT, WALK_ENDS };

/* An UPDATE that takes further prefixes. */
struct open_update {
	bool open;
	size_t at; /* of the BMP message in the output */
	unsigned peer;
	uint8_t flags;
	enum family family;
	const struct shard *shard;
	struct attr_id attrs;
	uint32_t serial, time_s;
	size_t set_len; /* of Adj-RIB-Out: the set is in bmp.out_set */
	struct update_packer packer;
};

struct collector {
	struct bmp *bmp;
	struct config_bmp config;
	char name[NAME_SIZE];
	bool configured;
	enum collector_state state;
	struct watch watch; /* fd -1: no connection */
	uint64_t connect_ns; /* end of the attempt, or time of the next one */
	unsigned backoff_s;
	char reason[128]; /* of the last loss */
	uint64_t up_ns, down_ns; /* since when */

	uint8_t *out; /* OUT_SIZE */
	size_t head, tail;
	uint64_t progress_ns; /* the collector accepted octets, or none waited */
	struct open_update update;

	entity_bits told; /* Peer Up was sent */
	uint32_t told_count[ENTITIES]; /* the session of the Peer Up */
	entity_bits check; /* sessions to compare with the last message */
	entity_bits resync; /* lost changes: down, up, all routes */
	uint64_t resync_ns; /* the time of the last loss */
	entity_bits want; /* to be walked */
	entity_bits walked; /* of the running walk */
	enum walk_state walk;
	struct vrf_id vrf; /* and family: the table */
	enum family family;
	uint32_t next; /* id, or bit while WALK_ENDS */
	/* Of destination `next`: the next peers of adj-out-pre and of adj-in; of WALK_OUT: the peer. */
	unsigned next_pre, next_peer;
	uint64_t walked_vrfs[SHARD_VRFS_MAX / 64];
	uint8_t walked_families[SHARD_VRFS_MAX]; /* bits by enum family */
	entity_bits statistics; /* due */
	entity_bits statistics_wait; /* for the counts of the session thread */
	uint64_t statistics_ns; /* of the next report */

	uint64_t messages, octets, connections, resyncs, stalls;
};

/* A question to the session thread. */
struct ask {
	struct thread_mail mail;
	struct bmp *bmp;
	bool sent;
	entity_bits peers; /* to ask about; the session thread clears bits */
	entity_bits gone;
	unsigned count;
	struct session_monitor at[ASKED];
};

/* A route of Adj-RIB-Out in an answer; the attributes follow. */
struct out_record {
	uint32_t size; /* with the attributes, a multiple of 8 */
	uint32_t attrs_len; /* 0: not advertised */
	uint32_t label;
	struct peer_id peer;
	uint8_t family;
	bool walk;
	struct vpn_rd rd;
	struct prefix prefix;
};

/* A question to the session thread about Adj-RIB-Out: changed routes, then a part of the table of one peer. */
struct out_ask {
	struct thread_mail mail;
	struct bmp *bmp;
	bool sent;
	uint64_t next_ns, spent_ns;
	entity_bits wanted; /* peers whose routes collectors follow */
	struct path_change name[OUT_NAMES];
	unsigned names, at; /* at: the first name without a whole answer */
	bool begun; /* of name[at]: the members without an answer are known */
	entity_bits members;
	enum family family;
	struct table_id table;
	struct collector *walk; /* NULL: no walk */
	uint64_t connection; /* of the collector */
	struct peer_id peer;
	enum family walk_family;
	struct table_id walk_table;
	uint32_t id, end;
	size_t used;
	uint8_t *answer; /* OUT_ANSWER; NULL: not wanted yet */
};

struct bmp {
	struct bmp_config config;
	struct arena *arena;
	struct thread *thread;
	struct timer poll;
	unsigned reader; /* of the RIB */
	struct collector *collector[CONFIG_BMP_MAX];
	unsigned count;
	struct path_ring *ring[SHARDS_MAX]; /* NULL: not created yet */
	struct journal_cursor *cursor; /* NULL: no collector wants the Loc-RIB */
	struct monitored *peer[ENTITIES];
	struct instance {
		bool there;
		char name[INSTANCE_NAME_MAX];
		struct vpn_rd rd;
	} instance[SHARD_VRFS_MAX]; /* of the configuration */
	entity_bits changed; /* sessions to ask about */
	struct ask ask;
	struct path_ring *out_ring; /* names of the session thread; NULL: not created yet */
	struct out_ask out;
	bool out_ready; /* a collector wants Adj-RIB-Out: ring and buffers are there */
	bool out_busy; /* there are questions */
	unsigned out_turn; /* the collector whose walk is asked about next */
	struct attr_set *out_set; /* of the last route of Adj-RIB-Out, of out_of */
	const struct collector *out_of;
	uint64_t lost; /* how often a ring or the journal had no room */
	uint32_t asn, router_id;
	struct attr_set *attrs; /* room for ATTR_SET_MAX */
	struct path_set *all; /* room for PEER_MAX paths */
	uint32_t order[PEER_MAX]; /* of a destination's paths, by peer */
	bool monitoring, monitoring_out; /* main: shards and session thread have the rings */
	/* for main */
	_Atomic unsigned configured;
	_Atomic uint64_t down_since_ns[CONFIG_BMP_MAX]; /* 0: connected */
};

/* ---- output ---- */

static void
update_close(struct collector *c)
{
	struct open_update *u = &c->update;
	struct wr w;

	if (!u->open)
		return;
	u->open = false;
	c->tail = u->at + BMP_HEADER_LEN + update_packer_finish(&u->packer);
	w = (struct wr){.p = c->out + c->tail, .end = c->out + OUT_SIZE, .start = c->out};
	bmp_end(&w, u->at);
	c->messages++;
}

/* A writer behind the output, with OUT_ROOM octets at least. False: no room. */
static bool
out_begin(struct collector *c, struct wr *w)
{
	update_close(c);
	if (OUT_SIZE - c->tail < OUT_ROOM && c->head > 0) {
		memmove(c->out, c->out + c->head, c->tail - c->head);
		c->tail -= c->head;
		c->head = 0;
	}
	if (OUT_SIZE - c->tail < OUT_ROOM)
		return false;
	*w = (struct wr){.p = c->out + c->tail, .end = c->out + OUT_SIZE, .start = c->out};
	return true;
}

static void
out_end(struct collector *c, struct wr *w, size_t at)
{
	bmp_end(w, at);
	if (w->bad)
		return;
	c->tail = wr_len(w);
	c->messages++;
}

static size_t
out_waits(const struct collector *c)
{
	return c->tail - c->head;
}

/* Changes of the peer are lost for the collector. */
static void
collector_lost(struct collector *c, unsigned peer)
{
	bit_set(c->resync, peer);
	c->resync_ns = now_ns();
}

/* ---- sessions ---- */

/* RFC 9069 4.4: the VRF/Table Name. */
static void
loc_name_put(const struct bmp *b, struct wr *w, unsigned id)
{
	const char *name = id == LOC ? "global" : b->instance[id - PEER_MAX].name;

	bmp_tlv(w, 3, name, strlen(name));
}

/* RFC 7854 4.10, RFC 9069 4.4 */
static bool
peer_up_put(struct collector *c, unsigned id)
{
	struct bmp *b = c->bmp;
	const struct monitored *m = b->peer[id];
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	at = bmp_begin(&w, BMP_PEER_UP, &m->head, m->since_ns);
	bmp_address(&w, &m->local);
	wr_u16(&w, m->local_port);
	wr_u16(&w, m->remote_port);
	wr_bytes(&w, m->octets, m->sent_len);
	wr_bytes(&w, m->octets + m->sent_len, m->received_len);
	if (is_loc(id))
		loc_name_put(b, &w, id);
	out_end(c, &w, at);
	bit_set(c->told, id);
	c->told_count[id] = m->count;
	bit_set(c->want, id);
	bit_clear(c->resync, id);
	return true;
}

/* RFC 7854 4.9, RFC 9069 4.5. `resync`: the session stays up. */
static bool
peer_down_put(struct collector *c, unsigned id, const struct monitored *m, bool resync)
{
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	at = bmp_begin(&w, BMP_PEER_DOWN, &m->head, wall_ns());
	if (is_loc(id)) {
		wr_u8(&w, 6);
		loc_name_put(c->bmp, &w, id);
	} else if (resync) {
		wr_u8(&w, BMP_DOWN_CONFIG);
	} else if (m->fall_len > 0) {
		wr_u8(&w, m->fall_sent ? BMP_DOWN_SENT : BMP_DOWN_RECEIVED);
		wr_bytes(&w, m->octets + m->sent_len + m->received_len, m->fall_len);
	} else {
		wr_u8(&w, BMP_DOWN_LOST);
	}
	out_end(c, &w, at);
	bit_clear(c->told, id);
	bit_clear(c->want, id);
	bit_clear(c->walked, id);
	bit_clear(c->statistics, id);
	bit_clear(c->statistics_wait, id);
	return true;
}

static bool
wanted(const struct collector *c, unsigned id)
{
	return is_loc(id) ? (c->config.views & BMP_LOC) != 0 : (c->config.views & ~BMP_LOC) != 0;
}

/* Compares a session with the last message to the collector. False: no room. */
static bool
peer_check(struct collector *c, unsigned id)
{
	const struct monitored *m = c->bmp->peer[id];

	if (bit(c->told, id) && (m == NULL || !m->up || m->count != c->told_count[id]) &&
		!peer_down_put(c, id, m, false))
		return false;
	if (m != NULL && m->up && wanted(c, id) && !bit(c->told, id) && !peer_up_put(c, id))
		return false;
	bit_clear(c->check, id);
	return true;
}

static bool
peer_resync(struct collector *c, unsigned id)
{
	const struct monitored *m = c->bmp->peer[id];

	if (bit(c->told, id)) {
		if (!peer_down_put(c, id, m, true))
			return false;
		c->resyncs++;
		bit_set(c->check, id);
	}
	bit_clear(c->resync, id);
	return true;
}

static void
sessions_run(struct collector *c)
{
	bool room = true;

	for (unsigned i = 0; room && (i = bit_next(c->check, i)) < ENTITIES; i++)
		room = peer_check(c, i);
	if (bit_next(c->resync, 0) == ENTITIES || now_ns() - c->resync_ns < RESYNC_NS ||
		out_waits(c) > OUT_WALK)
		return;
	for (unsigned i = 0; room && (i = bit_next(c->resync, i)) < ENTITIES; i++)
		room = peer_resync(c, i);
}

/* The collector gets changes of the peer. A session that is still to be compared counts as lost. */
static bool
follows(struct collector *c, unsigned id)
{
	if (!bit(c->told, id) || bit(c->resync, id))
		return false;
	if (bit(c->check, id))
		collector_lost(c, id);
	return !bit(c->check, id);
}

/* RFC 7854 4.2, RFC 9069 4.1: names the instance in the header. */
static void
head_instance(const struct bmp *b, struct monitored *m, bool loc)
{
	const struct instance *i = &b->instance[m->vrf.v];

	m->head.type = loc ? BMP_PEER_LOC : BMP_PEER_GLOBAL;
	m->head.distinguisher = 0;
	if (m->vrf.v == VRF_DEFAULT.v)
		return;
	m->head.distinguisher = i->rd.v != 0 ? i->rd.v : m->vrf.v;
	if (!loc)
		m->head.type = i->rd.v != 0 ? BMP_PEER_RD : BMP_PEER_LOCAL;
}

/* Takes over the report of the session thread. False: no memory, ask again. */
static bool
monitored_set(struct bmp *b, const struct session_monitor *s)
{
	struct monitored *m = b->peer[s->id.v], *now;
	bool keeps = m != NULL && !s->up; /* the Peer Down has the header of the Peer Up */
	uint16_t sent = keeps ? m->sent_len : s->sent_len,
		 received = keeps ? m->received_len : s->received_len;

	if (m == NULL && !s->up)
		return true;
	now = arena_calloc(b->arena, sizeof(*m) + (size_t)sent + received + s->fall_len);
	if (now == NULL)
		return false;
	if (keeps) {
		*now = *m;
		memcpy(now->octets, m->octets, (size_t)sent + received);
	} else {
		now->vrf = s->vrf;
		now->head = (struct bmp_peer){
			.flags = (uint8_t)((s->remote.afi == AFI_IPV6 ? BMP_FLAG_IPV6 : 0) |
					   (s->as4 ? 0 : BMP_FLAG_AS2)),
			.addr = s->remote,
			.asn = s->asn,
			.identifier = s->identifier};
		head_instance(b, now, false);
		now->as4 = s->as4;
		now->families = s->families;
		now->since_ns = s->since_ns;
		now->local = s->local;
		now->local_port = s->local_port;
		now->remote_port = s->remote_port;
		now->sent_len = sent;
		now->received_len = received;
		memcpy(now->octets, s->sent, sent);
		memcpy(now->octets + sent, s->received, received);
	}
	memcpy(now->advertised, s->advertised, sizeof(now->advertised));
	now->up = s->up;
	now->count = s->count;
	now->fall_sent = s->fall_sent;
	now->fall_len = s->fall_len;
	memcpy(now->octets + sent + received, s->fall, s->fall_len);
	arena_free(b->arena, m);
	b->peer[s->id.v] = now;
	return true;
}

/* A removed peer. The report stays, for the Peer Down. */
static void
monitored_gone(struct bmp *b, unsigned id)
{
	if (b->peer[id] != NULL)
		b->peer[id]->up = false;
}

static void
on_answer(void *arg) RUNS_ON(role_bmp)
{
	struct ask *a = arg;
	struct bmp *b = a->bmp;

	a->sent = false;
	for (unsigned i = 0; i < a->count; i++) {
		if (!monitored_set(b, &a->at[i]))
			bit_set(b->changed, a->at[i].id.v);
		for (unsigned k = 0; k < b->count; k++) {
			struct collector *c = b->collector[k];

			bit_set(c->check, a->at[i].id.v);
			if (bit(c->statistics_wait, a->at[i].id.v))
				bit_set(c->statistics, a->at[i].id.v);
			bit_clear(c->statistics_wait, a->at[i].id.v);
		}
	}
	for (unsigned id = 0; (id = bit_next(a->gone, id)) < ENTITIES; id++) {
		monitored_gone(b, id);
		for (unsigned k = 0; k < b->count; k++)
			bit_set(b->collector[k]->check, id);
	}
	bits_add(b->changed, a->peers); /* not asked about yet */
}

static void
on_session(void *arg) RUNS_ON(role_session)
{
	struct ask *a = arg;
	const struct layers *l = a->bmp->config.layers;

	a->count = 0;
	memset(a->gone, 0, sizeof(a->gone));
	for (unsigned id = 0; a->count < ASKED && (id = bit_next(a->peers, id)) < ENTITIES; id++) {
		bit_clear(a->peers, id);
		if (session_monitor_peek(
			    l->speaker, (struct peer_id){(uint16_t)id}, &a->at[a->count]))
			a->count++;
		else
			bit_set(a->gone, id);
	}
	layers_send_bmp(l, &a->mail, on_answer, a);
}

static void
sessions_ask(struct bmp *b) RUNS_ON(role_bmp)
{
	(void)speaker_monitor_changed(b->config.layers->speaker, b->changed);
	bit_clear(b->changed, LOC);
	if (b->ask.sent || bit_next(b->changed, 0) == ENTITIES)
		return;
	memcpy(b->ask.peers, b->changed, sizeof(b->changed));
	memset(b->changed, 0, sizeof(b->changed));
	b->ask.sent = true;
	layers_send_session(b->config.layers, &b->ask.mail, on_session, &b->ask);
}

/* RFC 9069 4.4: the OPENs of the Loc-RIB of an instance. 0, -ENOMEM. */
static int
loc_create(struct bmp *b, struct vrf_id vrf)
{
	const unsigned unicast = 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST,
		       all = (1u << FAMILY_COUNT) - 1;
	struct bgp_open_options o = {.asn = b->asn,
		.identifier = b->router_id,
		.families = vrf.v == VRF_DEFAULT.v ? all : unicast,
		.four_octet_as = true};
	uint8_t open[512];
	size_t len = bgp_open_encode(&o, open, sizeof(open));
	struct monitored *m = arena_calloc(b->arena, sizeof(*m) + 2 * len),
			 **at = &b->peer[loc_of(vrf)];

	if (m == NULL)
		return -ENOMEM;
	m->vrf = vrf;
	m->head = (struct bmp_peer){.asn = b->asn, .identifier = b->router_id};
	head_instance(b, m, true);
	m->up = m->as4 = true;
	m->count = *at != NULL ? (*at)->count + 1 : 1;
	m->families = (uint8_t)o.families;
	m->since_ns = wall_ns();
	m->sent_len = m->received_len = (uint16_t)len;
	memcpy(m->octets, open, len);
	memcpy(m->octets + len, open, len);
	arena_free(b->arena, *at);
	*at = m;
	return 0;
}

/* ---- routes ---- */

/* A route of a table to report: `attrs` of the id in the table of the shard; .v 0: a withdrawal. */
struct route {
	unsigned peer;
	uint8_t flags; /* of the view */
	enum family family;
	const struct prefix *prefix;
	struct vpn_rd rd;
	uint32_t label, time_s;
	const struct shard *shard;
	struct attr_id id;
	const struct attr_packed *attrs;
	const struct attr_set *set; /* of Adj-RIB-Out; both NULL: a withdrawal */
};

static bool
announces(const struct route *r)
{
	return r->attrs != NULL || r->set != NULL;
}

static struct nlri
route_nlri(const struct route *r, uint8_t label[LABEL_OCTETS])
{
	struct nlri n = {.prefix = *r->prefix, .rd = r->rd};

	if (family_safi(r->family) == SAFI_VPN && announces(r)) {
		label_put(label, r->label, true);
		n.label_count = 1;
		n.label = r->label;
		n.labels = label;
	}
	return n;
}

/* Own routes may have no next hop, or a next hop that UPDATEs cannot have. */
static void
next_hop_fit(struct attr_set *a, enum family f)
{
	bool discard = addr_is_discard(&a->next_hop);
	enum afi afi = family_afi(f);

	if (a->next_hop.afi == AFI_NONE || discard ||
		(afi == AFI_IPV6 && a->next_hop.afi == AFI_IPV4 && family_safi(f) != SAFI_VPN))
		a->next_hop = (struct ip_addr){.afi = (uint8_t)afi};
	if (a->next_hop.afi != AFI_IPV6)
		a->next_hop_link_local = (struct ip_addr){0};
}

static bool
update_takes(const struct collector *c, const struct route *r)
{
	const struct open_update *u = &c->update;
	const struct bmp *b = c->bmp;

	if (!u->open || u->peer != r->peer || u->flags != r->flags || u->family != r->family)
		return false;
	if (r->set != NULL)
		return b->out_of == c && u->set_len == attr_set_size(r->set) &&
		       memcmp(b->out_set, r->set, u->set_len) == 0;
	return r->attrs != NULL && r->id.v != 0 && u->shard == r->shard && u->attrs.v == r->id.v &&
	       u->time_s == r->time_s && u->serial == attr_serial(shard_attrs(r->shard), r->id);
}

/* RFC 7854 4.6. False: no room. */
static bool
route_put(struct collector *c, const struct route *r)
{
	struct bmp *b = c->bmp;
	struct open_update *u = &c->update;
	const struct monitored *m = b->peer[r->peer];
	struct bgp_encode_options o = {.as4 = m->as4,
		.extended_message = true,
		.send_communities = true,
		.extended_next_hop = true};
	struct bmp_peer head = m->head;
	uint8_t label[LABEL_OCTETS];
	struct nlri n = route_nlri(r, label);
	struct attr_set *a = NULL;
	uint64_t age_s = now_ns() / SECOND - r->time_s;
	struct wr w;
	size_t at;

	if (update_takes(c, r) && update_packer_add_form(&u->packer, &n))
		return true;
	if (!out_begin(c, &w))
		return false;
	head.flags |= r->flags;
	at = bmp_begin(&w, BMP_ROUTE_MONITORING, &head,
		r->attrs != NULL ? wall_ns() - age_s * SECOND : wall_ns());
	if (r->set != NULL)
		a = memcpy(b->attrs, r->set, attr_set_size(r->set));
	else if (r->attrs != NULL)
		a = attr_unpack(r->attrs, b->attrs);
	if (a != NULL)
		next_hop_fit(a, r->family);
	/* the largest message only for attributes that need it */
	if ((!update_packer_begin(&u->packer, r->family, a, &o, w.p, BGP_MSG_MAX) ||
		    !update_packer_add_form(&u->packer, &n)) &&
		(!update_packer_begin(&u->packer, r->family, a, &o, w.p, BGP_EXTENDED_MSG_MAX) ||
			!update_packer_add_form(&u->packer, &n)))
		return true; /* the family cannot carry the route */
	u->open = true;
	u->at = at;
	u->peer = r->peer;
	u->flags = r->flags;
	u->family = r->family;
	u->shard = r->shard;
	u->attrs = r->attrs != NULL ? r->id : (struct attr_id){0};
	u->serial = r->attrs != NULL ? attr_serial(shard_attrs(r->shard), r->id) : 0;
	u->time_s = r->time_s;
	u->set_len = 0;
	if (r->set != NULL) {
		u->set_len = attr_set_size(r->set);
		memcpy(b->out_set, r->set, u->set_len);
		b->out_of = c;
	}
	c->tail = at + BMP_HEADER_LEN; /* update_close() sets the end */
	return true;
}

/* The state of a path of the peer; `p` NULL: none. False: no room. */
static bool
path_put(struct collector *c, struct route *r, const struct rib_path *p, uint8_t views, bool walk)
{
	r->time_s = p != NULL ? p->time_s : 0;
	r->label = p != NULL ? p->label_flags >> 12 : 0;
	if (views & BMP_ADJ_IN_PRE) {
		r->flags = 0;
		r->attrs = p != NULL ? shard_path_received(r->shard, p) : NULL;
		r->id = p != NULL ? p->received : (struct attr_id){0};
		if ((r->attrs != NULL || !walk) && !route_put(c, r))
			return false;
	}
	if (views & BMP_ADJ_IN) {
		bool accepted = p != NULL && !(p->label_flags & PATH_REJECTED);

		r->flags = BMP_FLAG_POST;
		r->attrs = accepted ? attr_get(shard_attrs(r->shard), p->accepted) : NULL;
		r->id = accepted ? p->accepted : (struct attr_id){0};
		if ((r->attrs != NULL || !walk) && !route_put(c, r))
			return false;
	}
	return true;
}

/* The best route of a destination. False: no room. */
static bool
best_put(struct collector *c, unsigned loc, struct route *r, const struct dest_view *v, bool walk)
{
	bool best = v->paths != NULL && v->paths->eligible > 0;
	const struct rib_path *p = best ? &v->paths->path[0] : NULL;

	if (!best && walk)
		return true;
	r->peer = loc;
	r->flags = 0;
	r->time_s = best ? p->time_s : 0;
	r->label = best ? p->label_flags >> 12 : 0;
	r->attrs = best ? attr_get(shard_attrs(r->shard), p->accepted) : NULL;
	r->id = best ? p->accepted : (struct attr_id){0};
	return (best && r->attrs == NULL) || route_put(c, r);
}

/*
 * The best route of a destination as a route that may be advertised to the peer: not to its source. RFC 8671 3: before policy the Adj-RIB-Out
 * matches the Loc-RIB. False: no room.
 */
static bool
pre_put(struct collector *c, unsigned peer, struct route *r, const struct dest_view *v, bool walk)
{
	struct route out = *r;

	if (v->paths == NULL || v->paths->eligible == 0 || v->paths->path[0].peer.v == peer) {
		out.peer = peer;
		out.flags = BMP_FLAG_OUT;
		out.attrs = NULL;
		out.id.v = 0;
		out.time_s = 0;
		return walk || route_put(c, &out);
	}
	out.attrs = attr_get(shard_attrs(r->shard), v->paths->path[0].accepted);
	out.id = v->paths->path[0].accepted;
	out.time_s = v->paths->path[0].time_s;
	out.label = v->paths->path[0].label_flags >> 12;
	out.peer = peer;
	out.flags = BMP_FLAG_OUT;
	return out.attrs == NULL || route_put(c, &out);
}

/* True if the peer exchanges the family of the table. */
static bool
has_table(const struct monitored *m, struct vrf_id vrf, enum family f)
{
	return m->vrf.v == vrf.v && (m->families >> f & 1);
}

static bool
peek_all(struct bmp *b, const struct shards_table *t, struct dest_id id, struct dest_view *v)
{
	if (!shards_peek(t, id, v))
		return false;
	if (v->paths != NULL && v->behind > 0)
		(void)shards_peek_all(t, id, v, b->all, PEER_MAX);
	return true;
}

/* False: no such table. */
static bool
table_of(const struct bmp *b, struct vrf_id vrf, enum family f, struct shards_table *t)
{
	const struct shards *s = &b->config.layers->shards;
	struct table_id id;

	if (shard_table_find(s->at[0], vrf, f, &id) != 0)
		return false;
	shards_table(s, id, t);
	return true;
}

/* ---- live changes ---- */

static void
change_put(struct bmp *b, const struct path_change *e)
{
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	struct dest_view v;
	struct dest_id id;
	const struct rib_path *p = NULL;
	struct route r = {.peer = e->peer.v, .prefix = &e->prefix, .rd = e->rd};
	struct vrf_id vrf;
	bool any = false;

	for (unsigned k = 0; k < b->count; k++)
		any |= follows(b->collector[k], e->peer.v);
	if (!any)
		return;
	shard_table_key(s->at[0], e->table, &vrf, &r.family);
	if (r.family == FAMILY_COUNT)
		return;
	shards_table(s, e->table, &t);
	id = shards_find_rd(&t, e->rd, &e->prefix);
	r.shard = shards_for(s, shards_by(vrf, r.family), &e->prefix);
	if (id.v != DEST_NONE && peek_all(b, &t, id, &v) && v.paths != NULL) {
		for (unsigned i = 0; i < v.paths->count && p == NULL; i++)
			if (v.paths->path[i].peer.v == e->peer.v &&
				!(v.paths->path[i].label_flags & PATH_IMPORTED))
				p = &v.paths->path[i];
	}
	for (unsigned k = 0; k < b->count; k++) {
		struct collector *c = b->collector[k];

		if (follows(c, e->peer.v) && !path_put(c, &r, p, c->config.views, false))
			collector_lost(c, e->peer.v);
	}
}

static void
lost_put(struct bmp *b, const entity_bits peers)
{
	b->lost++;
	for (unsigned id = 0; (id = bit_next(peers, id)) < ENTITIES; id++)
		for (unsigned k = 0; k < b->count; k++)
			if (bit(b->collector[k]->told, id))
				collector_lost(b->collector[k], id);
}

/* True while there is more. */
static bool
changes_run(struct bmp *b)
{
	const struct layers *l = b->config.layers;
	bool more = false;

	for (unsigned i = 0; i < l->shards.count; i++) {
		struct path_change e;
		entity_bits lost = {0};
		unsigned n = 0;

		while (n < CHANGES && path_ring_get(b->ring[i], &e)) {
			change_put(b, &e);
			n++;
		}
		if (path_ring_lost(b->ring[i], lost))
			lost_put(b, lost);
		more |= n == CHANGES;
	}
	return more;
}

static void
entry_put(struct bmp *b, const struct journal_entry *e)
{
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	struct dest_id id = {shards_id(s, e->shard, e->dest.v)};
	struct route r = {.shard = s->at[e->shard]};
	struct vrf_id vrf;
	struct dest_view v;

	shard_table_key(s->at[0], e->table, &vrf, &r.family);
	if (e->aside || r.family == FAMILY_COUNT)
		return;
	shards_table(s, e->table, &t);
	if (!shards_peek(&t, id, &v))
		return;
	r.prefix = &v.prefix;
	r.rd = v.rd;
	for (unsigned k = 0; k < b->count; k++) {
		struct collector *c = b->collector[k];

		if (follows(c, loc_of(vrf)) && !best_put(c, loc_of(vrf), &r, &v, false))
			collector_lost(c, loc_of(vrf));
		for (unsigned p = 1; (c->config.views & BMP_ADJ_OUT_PRE) &&
				     (p = bit_next(c->told, p)) < PEER_MAX;
			p++)
			if (has_table(b->peer[p], vrf, r.family) && follows(c, p) &&
				!pre_put(c, p, &r, &v, false))
				collector_lost(c, p);
	}
}

static void
peers_lost(struct collector *c)
{
	for (unsigned id = 1; (id = bit_next(c->told, id)) < PEER_MAX; id++)
		collector_lost(c, id);
}

/* The Loc-RIBs of all instances, and what peers get of them. */
static void
journal_lost(struct bmp *b)
{
	entity_bits lost = {1u << LOC};

	memset(&lost[PEER_WORDS], 0xff, sizeof(lost) - PEER_WORDS * sizeof(lost[0]));
	lost_put(b, lost);
	for (unsigned k = 0; k < b->count; k++)
		if (b->collector[k]->config.views & BMP_ADJ_OUT_PRE)
			peers_lost(b->collector[k]);
}

/* True while there is more. */
static bool
journal_run(struct bmp *b)
{
	struct journal *j = b->config.layers->journal;
	struct journal_entry e[CHANGES];
	int n;

	if (b->cursor == NULL)
		return false;
	n = journal_read(j, b->cursor, e, CHANGES);
	if (n < 0) {
		(void)journal_resume(j, b->cursor);
		journal_lost(b);
		return true;
	}
	for (int i = 0; i < n; i++)
		entry_put(b, &e[i]);
	if (n > 0)
		journal_advance(j, b->cursor, e[n - 1].sequence);
	return n == (int)CHANGES;
}

/* ---- walks ---- */

static int
order_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * The paths by peer, from c->next_peer on: a destination may have more paths than the output has room. False: no
 * room for all.
 */
static bool
dest_walk(struct collector *c, const struct dest_view *v, struct route *r)
{
	uint32_t *order = c->bmp->order;
	unsigned n = 0, loc = loc_of(c->vrf);

	if (c->next_peer == 0 && c->next_pre == 0 && bit(c->walked, loc) &&
		!best_put(c, loc, r, v, true))
		return false;
	for (; (c->config.views & BMP_ADJ_OUT_PRE) && c->next_pre < PEER_MAX; c->next_pre++) {
		c->next_pre = bit_next(c->walked, c->next_pre > 0 ? c->next_pre : 1);
		if (c->next_pre < PEER_MAX &&
			has_table(c->bmp->peer[c->next_pre], c->vrf, c->family) &&
			!pre_put(c, c->next_pre, r, v, true))
			return false;
	}
	for (unsigned i = 0; i < v->paths->count && n < PEER_MAX; i++) {
		unsigned peer = v->paths->path[i].peer.v;

		if (peer != PEER_SELF.v && peer >= c->next_peer && bit(c->walked, peer) &&
			!(v->paths->path[i].label_flags & PATH_IMPORTED))
			order[n++] = peer << 16 | i;
	}
	if (n > 1)
		qsort(order, n, sizeof(*order), order_compare);
	for (unsigned i = 0; i < n; i++) {
		r->peer = order[i] >> 16;
		c->next_peer = r->peer;
		if (!path_put(c, r, &v->paths->path[order[i] & 0xffff], c->config.views, true))
			return false;
	}
	c->next_peer = c->next_pre = 0;
	return true;
}

/* One read section. */
static void
walk_section(struct collector *c)
{
	struct bmp *b = c->bmp;
	const struct shards *s = &b->config.layers->shards;
	struct shards_table t;
	uint32_t end = table_of(b, c->vrf, c->family, &t) ? shards_limit(&t) : 0;

	for (unsigned n = 0; n < SCAN && c->next < end && out_waits(c) < OUT_WALK; n++, c->next++) {
		struct dest_id id = {c->next};
		struct dest_view v;
		struct route r = {.family = c->family, .prefix = &v.prefix};

		if (!peek_all(b, &t, id, &v) || v.paths == NULL)
			continue;
		r.rd = v.rd;
		r.shard = s->at[shards_index(s, id)];
		if (!dest_walk(c, &v, &r))
			return; /* continues at c->next_peer */
	}
	if (c->next < end)
		return;
	c->walk = c->config.views & BMP_ADJ_OUT ? WALK_OUT : WALK_ENDS;
	c->next = 0;
	c->next_peer = c->walk == WALK_OUT ? 1 : 0;
}

/* The peer whose Adj-RIB-Out is to be read. False: all are read. */
static bool
walk_out_peer(struct collector *c)
{
	while ((c->next_peer = bit_next(c->walked, c->next_peer)) < PEER_MAX) {
		if (has_table(c->bmp->peer[c->next_peer], c->vrf, c->family))
			return true;
		c->next_peer++;
		c->next = 0;
	}
	c->walk = WALK_ENDS;
	c->next = c->next_peer = 0;
	return false;
}

/* RFC 7854 4.6: End-of-RIB of each view. False: no room. */
static bool
end_put(struct collector *c, unsigned id, uint8_t flags)
{
	struct bmp_peer head = c->bmp->peer[id]->head;
	uint8_t end[64];
	size_t len = bgp_end_of_rib_encode(c->family, end, sizeof(end)), at;
	struct wr w;

	if (!out_begin(c, &w))
		return false;
	head.flags |= flags;
	at = bmp_begin(&w, BMP_ROUTE_MONITORING, &head, wall_ns());
	wr_bytes(&w, end, len);
	out_end(c, &w, at);
	return true;
}

/* The next table of a walked entity, from c->vrf and c->family on. False: none. */
static bool
walk_table(struct collector *c)
{
	for (; c->vrf.v < SHARD_VRFS_MAX; c->vrf.v++, c->family = 0)
		for (; bit(c->walked_vrfs, c->vrf.v) && c->family < FAMILY_COUNT; c->family++)
			if (c->walked_families[c->vrf.v] >> c->family & 1)
				return true;
	return false;
}

static void
walk_ends(struct collector *c)
{
	uint8_t views = c->config.views;

	for (; (c->next = bit_next(c->walked, c->next)) < ENTITIES; c->next++) {
		const struct monitored *m = c->bmp->peer[c->next];
		bool loc = is_loc(c->next), room = true;

		if (m->vrf.v != c->vrf.v || !(m->families >> c->family & 1))
			continue;
		if (out_waits(c) >= OUT_WALK)
			return;
		if (loc || (views & BMP_ADJ_IN_PRE))
			room = end_put(c, c->next, 0);
		if (!loc && (views & BMP_ADJ_IN) && room)
			room = end_put(c, c->next, BMP_FLAG_POST);
		if (!loc && (views & BMP_ADJ_OUT_PRE) && room)
			room = end_put(c, c->next, BMP_FLAG_OUT);
		if (!loc && (views & BMP_ADJ_OUT) && room)
			room = end_put(c, c->next, BMP_FLAG_OUT | BMP_FLAG_POST);
		if (!room)
			return;
	}
	c->next = 0;
	c->walk = WALK_ROUTES;
	c->family++;
	if (!walk_table(c)) {
		memset(c->walked, 0, sizeof(c->walked));
		c->walk = WALK_NONE;
	}
}

static void
walk_begin(struct collector *c)
{
	memcpy(c->walked, c->want, sizeof(c->want));
	memset(c->want, 0, sizeof(c->want));
	memset(c->walked_vrfs, 0, sizeof(c->walked_vrfs));
	memset(c->walked_families, 0, sizeof(c->walked_families));
	for (unsigned id = 0; (id = bit_next(c->walked, id)) < ENTITIES; id++) {
		const struct monitored *m = c->bmp->peer[id];

		bit_set(c->walked_vrfs, m->vrf.v);
		c->walked_families[m->vrf.v] |= m->families;
	}
	c->vrf = VRF_DEFAULT;
	c->family = 0;
	c->next = c->next_peer = c->next_pre = 0;
	c->walk = walk_table(c) ? WALK_ROUTES : WALK_NONE;
}

/* In a read section. True while there is more, and room. */
static bool
walk_run(struct collector *c)
{
	if (c->walk == WALK_NONE && bit_next(c->want, 0) < ENTITIES)
		walk_begin(c);
	if (c->walk == WALK_NONE || out_waits(c) >= OUT_WALK)
		return false;
	if (c->walk == WALK_OUT)
		return !walk_out_peer(c); /* out_send() asks about the peer */
	if (c->walk == WALK_ROUTES)
		walk_section(c);
	else
		walk_ends(c);
	return true;
}

/* ---- Adj-RIB-Out after policy: questions to the session thread ---- */

static bool
out_room(const struct out_ask *a)
{
	return OUT_ANSWER - a->used >= sizeof(struct out_record) + ATTR_SET_MAX;
}

/* The route of a peer; `always`: also if it is not advertised. With out_room(). */
static void
out_record_put(struct out_ask *a, struct peer_id peer, enum family f, const struct dest_view *v,
	struct dest_id id, bool walk) RUNS_ON(role_session)
{
	struct speaker *speaker = a->bmp->config.layers->speaker;
	struct out_record *rec = (struct out_record *)(void *)(a->answer + a->used);
	struct attr_set *attrs = (struct attr_set *)(void *)(rec + 1);
	const struct dest_id own = {DEST_NONE}; /* default_originate */
	int n = 0;

	*rec = (struct out_record){
		.peer = peer, .family = (uint8_t)f, .walk = walk, .rd = v->rd, .prefix = v->prefix};
	if (v->prefix.len == 0 && family_safi(f) != SAFI_VPN)
		n = session_adj_out(speaker, peer, f, own, attrs, ATTR_SET_MAX, &rec->label);
	if (n <= 0 && id.v != DEST_NONE)
		n = session_adj_out(speaker, peer, f, id, attrs, ATTR_SET_MAX, &rec->label);
	if (n <= 0 && walk)
		return;
	rec->attrs_len = n > 0 ? (uint32_t)n : 0;
	rec->size = (uint32_t)((sizeof(*rec) + rec->attrs_len + 7) / 8 * 8);
	a->used += rec->size;
}

/* The changed routes. False: no room or time for all. */
static bool
out_names(struct out_ask *a, uint64_t deadline) RUNS_ON(role_session)
{
	const struct layers *l = a->bmp->config.layers;

	for (; a->at < a->names; a->at++) {
		const struct path_change *name = &a->name[a->at];
		struct dest_view v = {.prefix = name->prefix, .rd = name->rd};
		struct shards_table t;
		struct dest_id id;

		if (!a->begun) {
			memset(a->members, 0, sizeof(a->members));
			(void)speaker_out_named(
				l->speaker, name, &a->family, &a->table, a->members);
			for (unsigned i = 0; i < PEER_WORDS; i++)
				a->members[i] &= a->wanted[i];
		}
		a->begun = true;
		if (bit_next(a->members, 0) < ENTITIES) {
			shards_table(&l->shards, a->table, &t);
			id = shards_find_rd(&t, v.rd, &v.prefix);
		}
		for (unsigned p = 0; (p = bit_next(a->members, p)) < ENTITIES; p++) {
			if (!out_room(a) || now_ns() >= deadline)
				return false;
			out_record_put(a, (struct peer_id){(uint16_t)p}, a->family, &v, id, false);
			bit_clear(a->members, p);
		}
		a->begun = false;
	}
	return true;
}

#define OUT_LOOKS 16u /* ids between two looks at the clock */

static void
out_walk(struct out_ask *a, uint64_t deadline) RUNS_ON(role_session)
{
	struct shards_table t;

	shards_table(&a->bmp->config.layers->shards, a->walk_table, &t);
	for (unsigned n = 0; a->id < a->end && out_room(a); n++, a->id++) {
		struct dest_view v;

		if (n % OUT_LOOKS == OUT_LOOKS - 1 && now_ns() >= deadline)
			return;
		if (shards_peek(&t, (struct dest_id){a->id}, &v) && v.paths != NULL)
			out_record_put(
				a, a->peer, a->walk_family, &v, (struct dest_id){a->id}, true);
	}
}

static void on_out_answer(void *arg) RUNS_ON(role_bmp);

static void
on_out_question(void *arg) RUNS_ON(role_session)
{
	struct out_ask *a = arg;
	uint64_t begun = now_ns();

	a->used = 0;
	if (out_names(a, begun + OUT_SLICE_NS) && a->walk != NULL) {
		struct dest_view v = {.prefix.afi = (uint8_t)family_afi(a->walk_family)};

		if (a->id == 0 && family_safi(a->walk_family) != SAFI_VPN && out_room(a))
			out_record_put(
				a, a->peer, a->walk_family, &v, (struct dest_id){DEST_NONE}, true);
		out_walk(a, begun + OUT_SLICE_NS);
	}
	a->spent_ns = now_ns() - begun;
	layers_send_bmp(a->bmp->config.layers, &a->mail, on_out_answer, a);
}

static bool
out_put(struct collector *c, const struct out_record *rec)
{
	struct route r = {.peer = rec->peer.v,
		.flags = BMP_FLAG_OUT | BMP_FLAG_POST,
		.family = (enum family)rec->family,
		.prefix = &rec->prefix,
		.rd = rec->rd,
		.label = rec->label,
		.time_s = (uint32_t)(now_ns() / SECOND)};

	if (rec->attrs_len > 0)
		r.set = (const struct attr_set *)(const void *)(rec + 1);
	return route_put(c, &r);
}

/* The walk of the question still runs: its collector, else NULL. */
static struct collector *
out_walker(const struct bmp *b)
{
	const struct out_ask *a = &b->out;
	struct collector *c = NULL;

	for (unsigned i = 0; a->walk != NULL && i < b->count; i++)
		if (b->collector[i] == a->walk)
			c = b->collector[i];
	return c != NULL && c->connections == a->connection && c->walk == WALK_OUT &&
			       c->next_peer == a->peer.v && c->family == a->walk_family &&
			       bit(c->walked, a->peer.v)
		       ? c
		       : NULL;
}

static void
on_out_answer(void *arg) RUNS_ON(role_bmp)
{
	struct out_ask *a = arg;
	struct bmp *b = a->bmp;
	struct collector *walker = out_walker(b);
	uint64_t pause = 4 * a->spent_ns;

	a->sent = false;
	a->next_ns = now_ns() + (pause > OUT_PAUSE_NS ? pause : OUT_PAUSE_NS);
	for (size_t at = 0; at < a->used;) {
		const struct out_record *rec =
			(const struct out_record *)(const void *)(a->answer + at);

		at += rec->size;
		for (unsigned k = 0; !rec->walk && k < b->count; k++) {
			struct collector *c = b->collector[k];

			if ((c->config.views & BMP_ADJ_OUT) && follows(c, rec->peer.v) &&
				!out_put(c, rec))
				collector_lost(c, rec->peer.v);
		}
		if (rec->walk && walker != NULL && bit(walker->told, rec->peer.v) &&
			!out_put(walker, rec))
			collector_lost(walker, rec->peer.v);
	}
	if (walker == NULL)
		return;
	walker->next = a->id;
	if (a->id >= a->end) {
		walker->next_peer++;
		walker->next = 0;
	}
}

/* The next collector with a walk of Adj-RIB-Out and room. NULL: none. */
static struct collector *
out_walk_next(struct bmp *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct collector *c = b->collector[(b->out_turn + i) % b->count];

		if (c->state != UP || c->walk != WALK_OUT)
			continue;
		b->out_busy = true;
		if (out_waits(c) >= OUT_WALK || !walk_out_peer(c))
			continue;
		b->out_turn = (b->out_turn + i + 1) % b->count;
		return c;
	}
	return NULL;
}

static void
out_wanted(struct bmp *b)
{
	memset(b->out.wanted, 0, sizeof(b->out.wanted));
	for (unsigned k = 0; k < b->count; k++) {
		const struct collector *c = b->collector[k];

		for (unsigned i = 0; (c->config.views & BMP_ADJ_OUT) && i < PEER_WORDS; i++)
			b->out.wanted[i] |= c->told[i] & ~c->resync[i];
	}
}

/* In a read section: asks the session thread about changed routes and walks. */
static void
out_send(struct bmp *b) RUNS_ON(role_bmp)
{
	struct out_ask *a = &b->out;
	entity_bits lost = {0};
	struct shards_table t;
	struct collector *c;

	b->out_busy = a->sent;
	if (a->sent || !b->out_ready)
		return;
	if (path_ring_lost(b->out_ring, lost))
		for (unsigned k = 0; k < b->count; k++)
			if (b->collector[k]->config.views & BMP_ADJ_OUT)
				peers_lost(b->collector[k]);
	if (a->at == a->names) {
		a->at = a->names = 0;
		while (a->names < OUT_NAMES && path_ring_get(b->out_ring, &a->name[a->names]))
			a->names++;
	}
	c = out_walk_next(b);
	a->walk = NULL;
	if (c != NULL && table_of(b, c->vrf, c->family, &t)) {
		a->walk = c;
		a->connection = c->connections;
		a->peer.v = (uint16_t)c->next_peer;
		a->walk_family = c->family;
		(void)shard_table_find(
			b->config.layers->shards.at[0], c->vrf, c->family, &a->walk_table);
		a->id = c->next;
		a->end = shards_limit(&t);
	} else if (c != NULL) {
		c->next_peer++; /* the table is gone */
	}
	b->out_busy |= a->names > 0;
	if ((a->names == 0 && a->walk == NULL) || now_ns() < a->next_ns)
		return;
	out_wanted(b);
	a->sent = true;
	layers_send_session(b->config.layers, &a->mail, on_out_question, a);
}

/* ---- statistics ---- */

/* RFC 8671 6.2. Returns the number of entries. */
static unsigned
statistics_out(struct wr *w, const struct monitored *m)
{
	unsigned entries = 1;
	uint64_t sum = 0;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		sum += m->advertised[f];
	bmp_gauge(w, BMP_STAT_ADJ_OUT, sum);
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(m->families >> f & 1))
			continue;
		bmp_gauge_family(w, BMP_STAT_ADJ_OUT_FAMILY, f, m->advertised[f]);
		entries++;
	}
	return entries;
}

/* RFC 7854 4.8. False: no room. */
static bool
statistics_put(struct collector *c, unsigned id)
{
	const struct shards *s = &c->bmp->config.layers->shards;
	const struct monitored *m = c->bmp->peer[id];
	struct adj_rib_in_counts counts;
	uint64_t sum = 0, rejected = 0, of[FAMILY_COUNT] = {0};
	unsigned families = 0, entries = 0;
	struct shards_table t;
	struct wr w;
	uint8_t *count;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(m->families >> f & 1))
			continue;
		families |= 1u << f;
		if (!is_loc(id)) {
			shards_peer_counts(s, (struct peer_id){(uint16_t)id}, f, &counts);
			of[f] = counts.received;
			rejected += counts.rejected_total;
		} else if (table_of(c->bmp, m->vrf, f, &t)) {
			for (unsigned i = 0; i < s->count; i++)
				of[f] += t.at[i] != NULL ? dest_count(t.at[i]) : 0;
		}
		sum += of[f];
	}
	at = bmp_begin(&w, BMP_STATISTICS, &m->head, wall_ns());
	count = w.p;
	wr_u32(&w, 0);
	if (!is_loc(id)) {
		bmp_counter(&w, BMP_STAT_REJECTED, (uint32_t)rejected);
		entries++;
	}
	bmp_gauge(&w, is_loc(id) ? BMP_STAT_LOC : BMP_STAT_ADJ_IN, sum);
	entries++;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(families >> f & 1))
			continue;
		bmp_gauge_family(
			&w, is_loc(id) ? BMP_STAT_LOC_FAMILY : BMP_STAT_ADJ_IN_FAMILY, f, of[f]);
		entries++;
	}
	if (!is_loc(id) && (c->config.views & BMP_ADJ_OUT))
		entries += statistics_out(&w, m);
	if (!w.bad)
		count[3] = (uint8_t)entries;
	out_end(c, &w, at);
	return true;
}

static void
statistics_run(struct collector *c)
{
	if (c->config.statistics_s > 0 && now_ns() >= c->statistics_ns) {
		memcpy(c->statistics, c->told, sizeof(c->told));
		/* the counts of Adj-RIB-Out come from the session thread */
		for (unsigned i = 0; (c->config.views & BMP_ADJ_OUT) && i < PEER_WORDS; i++) {
			c->statistics_wait[i] = i == 0 ? c->told[i] & ~(1ull << LOC) : c->told[i];
			c->statistics[i] &= ~c->statistics_wait[i];
			c->bmp->changed[i] |= c->statistics_wait[i];
		}
		c->statistics_ns = now_ns() + c->config.statistics_s * SECOND;
	}
	for (unsigned i = 0; (i = bit_next(c->statistics, i)) < ENTITIES; i++) {
		if (out_waits(c) > OUT_WALK || !statistics_put(c, i))
			return;
		bit_clear(c->statistics, i);
	}
}

/* ---- connections ---- */

static unsigned
collector_index(const struct collector *c)
{
	unsigned i = 0;

	while (c->bmp->collector[i] != c)
		i++;
	return i;
}

static void
down_note(struct collector *c)
{
	atomic_store_explicit(&c->bmp->down_since_ns[collector_index(c)],
		c->state == UP ? 0 : c->down_ns, memory_order_relaxed);
}

static void
collector_close(struct collector *c, const char *reason) RUNS_ON(role_bmp)
{
	if (c->watch.fd < 0)
		return;
	(void)watch_set(c->bmp->thread, &c->watch, 0);
	close(c->watch.fd);
	c->watch.fd = -1;
	c->connect_ns = now_ns() + c->backoff_s * SECOND;
	c->backoff_s = c->backoff_s * 2 < BACKOFF_MAX_S ? c->backoff_s * 2 : BACKOFF_MAX_S;
	if (c->state == UP || strcmp(c->reason, reason) != 0) {
		snprintf(c->reason, sizeof(c->reason), "%s", reason);
		log_event(LOG_WARNING, "bmp-down collector=%s reason=\"%s\"", c->name, reason);
	}
	if (c->state == UP)
		c->down_ns = now_ns();
	c->state = DOWN;
	c->update.open = false;
	c->head = c->tail = 0;
	c->walk = WALK_NONE;
	memset(c->told, 0, sizeof(c->told));
	memset(c->check, 0, sizeof(c->check));
	memset(c->resync, 0, sizeof(c->resync));
	memset(c->want, 0, sizeof(c->want));
	memset(c->walked, 0, sizeof(c->walked));
	memset(c->statistics, 0, sizeof(c->statistics));
	memset(c->statistics_wait, 0, sizeof(c->statistics_wait));
	arena_free(c->bmp->arena, c->out);
	c->out = NULL;
	down_note(c);
}

static socklen_t
sockaddr_of(const struct config_bmp *k, struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (k->addr.afi == AFI_IPV4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(k->port);
		memcpy(&v4->sin_addr, k->addr.b, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(k->port);
	memcpy(&v6->sin6_addr, k->addr.b, 16);
	if (k->addr.zone != 0)
		v6->sin6_scope_id = if_nametoindex(zone_name(k->addr.zone));
	return sizeof(*v6);
}

static void
collector_connect(struct collector *c) RUNS_ON(role_bmp)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&c->config, &ss);
	int sndbuf = SOCKET_SIZE;
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

	c->out = fd >= 0 ? arena_alloc(c->bmp->arena, OUT_SIZE) : NULL;
	if (c->out == NULL) {
		c->connect_ns = now_ns() + c->backoff_s * SECOND;
		snprintf(c->reason, sizeof(c->reason), "%s",
			strerrordesc_np(fd < 0 ? errno : ENOMEM));
		if (fd >= 0)
			close(fd);
		return;
	}
	c->connect_ns = now_ns() + CONNECT_NS;
	c->watch.fd = fd;
	c->state = CONNECTING;
	/* a collector that stalls holds no more than this in the kernel */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)) < 0)
		rc = -errno;
	if (rc == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		rc = -errno;
	if (rc == 0)
		rc = watch_set(c->bmp->thread, &c->watch, EPOLLOUT);
	if (rc != 0)
		collector_close(c, strerrordesc_np(-rc));
}

/* RFC 7854 4.3 */
static void
initiation_put(struct collector *c)
{
	char text[128], host[65] = "keel";
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return;
	at = bmp_begin(&w, BMP_INITIATION, NULL, 0);
	snprintf(text, sizeof(text), "Keel %s", c->bmp->config.version);
	(void)gethostname(host, sizeof(host) - 1);
	bmp_tlv(&w, 1, text, strlen(text));
	bmp_tlv(&w, 2, host, strlen(host));
	out_end(c, &w, at);
}

static void
collector_connected(struct collector *c) RUNS_ON(role_bmp)
{
	struct bmp *b = c->bmp;

	c->state = UP;
	c->backoff_s = 1;
	c->reason[0] = '\0';
	c->up_ns = c->progress_ns = now_ns();
	c->statistics_ns = now_ns() + c->config.statistics_s * SECOND;
	c->connections++;
	down_note(c);
	log_event(LOG_INFO, "bmp-up collector=%s", c->name);
	initiation_put(c);
	for (unsigned id = 0; id < ENTITIES; id++)
		if (b->peer[id] != NULL)
			bit_set(c->check, id);
}

static void
collector_flush(struct collector *c) RUNS_ON(role_bmp)
{
	bool some = false;

	update_close(c);
	while (c->head < c->tail) {
		ssize_t n = send(c->watch.fd, c->out + c->head, c->tail - c->head, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			collector_close(c, strerrordesc_np(errno));
			return;
		}
		c->head += (size_t)n;
		c->octets += (size_t)n;
		some = true;
	}
	if (c->head == c->tail)
		c->head = c->tail = 0;
	if (some || c->tail == 0)
		c->progress_ns = now_ns();
	if (now_ns() - c->progress_ns >= c->config.stall_s * SECOND) {
		c->stalls++;
		collector_close(c, "the collector accepts no octets");
		return;
	}
	if (watch_set(c->bmp->thread, &c->watch, EPOLLIN | (c->tail > 0 ? EPOLLOUT : 0u)) != 0)
		collector_close(c, strerrordesc_np(ENOMEM));
}

static void
collector_tick(struct collector *c) RUNS_ON(role_bmp)
{
	uint64_t now = now_ns();

	if (c->state == CONNECTING && now >= c->connect_ns)
		collector_close(c, strerrordesc_np(ETIMEDOUT));
	if (c->state == DOWN && now >= c->connect_ns)
		collector_connect(c);
}

static void
collector_ready(struct watch *w, uint32_t events)
{
	struct collector *c =
		(struct collector *)(void *)((char *)w - offsetof(struct collector, watch));
	int error = 0;
	socklen_t len = sizeof(error);
	uint8_t ignored[512];
	ssize_t n;

	role_enter_bmp();
	if (c->state == CONNECTING) {
		if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error != 0) {
			collector_close(c, strerrordesc_np(error));
			return;
		}
		collector_connected(c);
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		/* RFC 7854 3.2: a collector sends nothing */
		n = recv(w->fd, ignored, sizeof(ignored), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			collector_close(
				c, n == 0 ? "closed by the collector" : strerrordesc_np(errno));
			return;
		}
	}
	collector_flush(c);
}

/* ---- the thread ---- */

static bool
bmp_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct bmp *b = ctx;
	bool more;

	role_enter_bmp();
	if (b->count == 0)
		return false;
	sessions_ask(b);
	do {
		qsbr_online(b->config.layers->readers, b->reader);
		for (unsigned i = 0; i < b->count; i++)
			if (b->collector[i]->state == UP)
				sessions_run(b->collector[i]);
		more = changes_run(b);
		more |= journal_run(b);
		for (unsigned i = 0; i < b->count; i++) {
			struct collector *c = b->collector[i];

			if (c->state != UP)
				continue;
			more |= walk_run(c);
			statistics_run(c);
		}
		out_send(b);
		qsbr_offline(b->config.layers->readers, b->reader);
		now = now_ns();
	} while (more && now < deadline);
	for (unsigned i = 0; i < b->count; i++) {
		if (b->collector[i]->state == UP)
			collector_flush(b->collector[i]);
		collector_tick(b->collector[i]);
	}
	return more;
}

static void
poll_fire(struct timer *t)
{
	struct bmp *b = (struct bmp *)(void *)((char *)t - offsetof(struct bmp, poll));

	role_enter_bmp();
	if (b->count > 0)
		(void)timer_arm(b->thread, t, b->out_busy ? OUT_PAUSE_NS : POLL_NS);
}

/* ---- configuration ---- */

static void
collector_free(struct collector *c) RUNS_ON(role_bmp)
{
	if (c->watch.fd >= 0) {
		(void)watch_set(c->bmp->thread, &c->watch, 0);
		close(c->watch.fd);
	}
	arena_free(c->bmp->arena, c->out);
	arena_free(c->bmp->arena, c);
}

/* RFC 7854 4.5: the last message, if the collector accepts it at once. */
static void
collector_end(struct collector *c) RUNS_ON(role_bmp)
{
	uint8_t closed[2] = {0, 0}; /* administratively closed */
	struct wr w;
	size_t at;

	if (c->state == UP && out_begin(c, &w)) {
		at = bmp_begin(&w, BMP_TERMINATION, NULL, 0);
		bmp_tlv(&w, 1, closed, sizeof(closed));
		out_end(c, &w, at);
		collector_flush(c);
	}
	collector_free(c);
}

static bool
same_collector(const struct config_bmp *a, const struct config_bmp *b)
{
	return addr_equal(&a->addr, &b->addr) && a->port == b->port && a->views == b->views &&
	       a->statistics_s == b->statistics_s && a->stall_s == b->stall_s;
}

static struct collector *
collector_find(const struct bmp *b, const struct config_bmp *k)
{
	for (unsigned i = 0; i < b->count; i++)
		if (same_collector(&b->collector[i]->config, k))
			return b->collector[i];
	return NULL;
}

/* NULL: no memory. */
static struct collector *
collector_new(struct bmp *b, const struct config_bmp *k)
{
	struct collector *c = arena_calloc(b->arena, sizeof(*c));
	char text[ADDR_TEXT_MAX];

	if (c == NULL)
		return NULL;
	c->bmp = b;
	c->config = *k;
	addr_format(&k->addr, text);
	snprintf(c->name, sizeof(c->name), k->addr.afi == AFI_IPV6 ? "[%s]:%u" : "%s:%u", text,
		k->port);
	c->watch = (struct watch){.fd = -1, .ready = collector_ready};
	c->backoff_s = 1;
	c->down_ns = now_ns();
	return c;
}

/* The cursor exists while a collector wants best routes. */
static void
cursor_set(struct bmp *b)
{
	struct journal *j = b->config.layers->journal;
	bool wants = false;

	for (unsigned i = 0; i < b->count; i++)
		wants |= (b->collector[i]->config.views & (BMP_LOC | BMP_ADJ_OUT_PRE)) != 0;
	if (wants && b->cursor == NULL && journal_subscribe(j, &b->cursor) != 0)
		b->cursor = NULL;
	if (!wants && b->cursor != NULL) {
		journal_unsubscribe(j, b->cursor);
		b->cursor = NULL;
	}
}

/* An instance came, went, or has another name or distinguisher. */
static void
instance_set(struct bmp *b, struct vrf_id vrf, const struct config_vrf *v) RUNS_ON(role_bmp)
{
	struct instance *i = &b->instance[vrf.v];
	const struct instance was = *i;
	unsigned loc = loc_of(vrf);

	i->there = v != NULL || vrf.v == VRF_DEFAULT.v;
	if (v != NULL) {
		snprintf(i->name, sizeof(i->name), "%s", v->name);
		i->rd = v->rd;
	}
	/* headers name the distinguisher, so that all begins anew */
	if (was.there && i->there && was.rd.v != i->rd.v) {
		for (unsigned k = 0; k < b->count; k++)
			collector_close(b->collector[k], "a route distinguisher has changed");
		for (unsigned id = 0; id < ENTITIES; id++)
			if (b->peer[id] != NULL && b->peer[id]->vrf.v == vrf.v)
				head_instance(b, b->peer[id], is_loc(id));
	}
	if (i->there && (b->peer[loc] == NULL || !b->peer[loc]->up) && loc_create(b, vrf) != 0)
		log_event(LOG_WARNING, "bmp-down collector=all reason=\"%s\"",
			strerrordesc_np(ENOMEM));
	if (!i->there && b->peer[loc] != NULL)
		b->peer[loc]->up = false;
	for (unsigned k = 0; was.there != i->there && k < b->count; k++)
		bit_set(b->collector[k]->check, loc);
}

/* The instances of `c`; without a collector none. */
static void
instances_set(struct bmp *b, const struct config *c) RUNS_ON(role_bmp)
{
	if (c->bmp_count == 0)
		return;
	for (uint16_t v = 0; v < SHARD_VRFS_MAX; v++) {
		const struct config_vrf *is = config_vrf_find(c, (struct vrf_id){v});

		if (is != NULL || b->instance[v].there || v == VRF_DEFAULT.v)
			instance_set(b, (struct vrf_id){v}, is);
	}
}

static bool
wants_out(const struct config *c)
{
	bool wants = false;

	for (unsigned i = 0; i < c->bmp_count; i++)
		wants |= (c->bmp[i].views & BMP_ADJ_OUT) != 0;
	return wants;
}

struct configure_call {
	struct bmp *b;
	const struct config *c;
};

static void
on_configure(void *arg) RUNS_ON(role_bmp)
{
	const struct configure_call *call = arg;
	struct bmp *b = call->b;
	const struct config *c = call->c;
	unsigned kept = 0;

	b->asn = c->asn;
	b->router_id = c->router_id;
	instances_set(b, c);
	for (unsigned i = 0; i < b->count; i++)
		b->collector[i]->configured = false;
	for (unsigned i = 0; i < c->bmp_count; i++) {
		struct collector *k = collector_find(b, &c->bmp[i]);

		if (k != NULL)
			k->configured = true;
	}
	for (unsigned i = 0; i < b->count; i++) {
		if (b->collector[i]->configured)
			b->collector[kept++] = b->collector[i];
		else
			collector_end(b->collector[i]);
	}
	if (b->count == 0 && c->bmp_count > 0)
		memset(b->changed, 0xff,
			PEER_WORDS * sizeof(b->changed[0])); /* the first question */
	b->count = kept;
	for (unsigned i = 0; i < c->bmp_count; i++) {
		struct collector *k =
			collector_find(b, &c->bmp[i]) == NULL ? collector_new(b, &c->bmp[i]) : NULL;

		if (k != NULL)
			b->collector[b->count++] = k;
	}
	for (unsigned i = 0; i < b->count; i++)
		down_note(b->collector[i]);
	b->out_ready = wants_out(c);
	atomic_store_explicit(&b->configured, b->count, memory_order_relaxed);
	cursor_set(b);
	(void)timer_arm(b->thread, &b->poll, 1);
}

struct monitor_call {
	struct bmp *b;
	bool on;
};

static void
on_shard(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct monitor_call *m = call->arg;

	shard_monitor(call->shard, m->on ? m->b->ring[call->index] : NULL);
}

/* Gives the rings to the shards, or takes them back. 0, -ENOMEM. */
static int
monitor_set(struct bmp *b, bool on) RUNS_ON(role_main)
{
	const struct layers *l = b->config.layers;
	struct monitor_call m = {b, on};
	struct shard_call call = {.arg = &m};

	if (b->monitoring == on)
		return 0;
	for (unsigned i = 0; on && i < l->shards.count; i++)
		if (b->ring[i] == NULL && path_ring_create(b->arena, &b->ring[i]) != 0)
			return -ENOMEM;
	layers_call_shards(l, on_shard, &call);
	b->monitoring = on;
	return 0;
}

static void
on_monitor_out(void *arg) RUNS_ON(role_session)
{
	const struct monitor_call *m = arg;

	speaker_monitor_out(m->b->config.layers->speaker, m->on ? m->b->out_ring : NULL);
}

/* As monitor_set(), for the names of the session thread. */
static int
monitor_out_set(struct bmp *b, bool on) RUNS_ON(role_main)
{
	struct monitor_call m = {b, on};

	if (b->monitoring_out == on)
		return 0;
	if (on && b->out_ring == NULL && path_ring_create(b->arena, &b->out_ring) != 0)
		return -ENOMEM;
	if (on && b->out_set == NULL)
		b->out_set = arena_alloc(b->arena, ATTR_SET_MAX);
	if (on && b->out.answer == NULL && b->out_set != NULL)
		b->out.answer = arena_alloc(b->arena, OUT_ANSWER);
	if (on && b->out.answer == NULL)
		return -ENOMEM;
	layers_call_session(b->config.layers, on_monitor_out, &m);
	b->monitoring_out = on;
	return 0;
}

void
bmp_configure(struct bmp *b, const struct config *c)
{
	struct configure_call call = {b, c};

	if (b->config.layers->bmp_thread == NULL)
		return;
	if ((c->bmp_count > 0 && monitor_set(b, true) != 0) ||
		(wants_out(c) && monitor_out_set(b, true) != 0)) {
		log_event(
			LOG_ERROR, "bmp-down collector=all reason=\"%s\"", strerrordesc_np(ENOMEM));
		return;
	}
	(void)layers_call_bmp(b->config.layers, on_configure, &call);
	if (c->bmp_count == 0)
		(void)monitor_set(b, false);
	if (!wants_out(c))
		(void)monitor_out_set(b, false);
}

/* ---- views ---- */

unsigned
bmp_collectors(const struct bmp *b, unsigned *down)
{
	unsigned count;

	*down = 0;
	if (b == NULL)
		return 0;
	count = atomic_load_explicit(&b->configured, memory_order_relaxed);
	for (unsigned i = 0; i < count; i++) {
		uint64_t since = atomic_load_explicit(&b->down_since_ns[i], memory_order_relaxed);

		*down += since != 0 && now_ns() - since >= DOWN_NS;
	}
	return count;
}

static json_t *
views_json(uint8_t views)
{
	static const char *const words[] = {
		"adj-in-pre", "adj-in", "loc", "adj-out-pre", "adj-out"};
	json_t *a = json_array();

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (views >> i & 1)
			json_array_append_new(a, json_string(words[i]));
	return a;
}

static json_t *
collector_json(const struct collector *c) RUNS_ON(role_bmp)
{
	static const char *const states[] = {"down", "connecting", "up"};
	char text[ADDR_TEXT_MAX];
	unsigned peers = 0;
	json_t *o;

	for (unsigned i = 0; i < PEER_WORDS; i++)
		peers += (unsigned)__builtin_popcountll(c->told[i]);
	peers -= bit(c->told, LOC);
	o = json_pack("{s:s, s:i, s:s, s:o, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "address",
		addr_format(&c->config.addr, text), "port", (int)c->config.port, "state",
		states[c->state], "views", views_json(c->config.views), "peers", (int)peers,
		"synced",
		c->state == UP && c->walk == WALK_NONE && bit_next(c->want, 0) == ENTITIES &&
			bit_next(c->check, 0) == ENTITIES && bit_next(c->resync, 0) == ENTITIES,
		"queued_octets", (json_int_t)out_waits(c), "messages", (json_int_t)c->messages,
		"octets", (json_int_t)c->octets, "connections", (json_int_t)c->connections,
		"resyncs", (json_int_t)c->resyncs, "stalls", (json_int_t)c->stalls);
	if (c->state == UP)
		json_object_set_new(
			o, "up_s", json_real((double)(now_ns() - c->up_ns) / (double)SECOND));
	if (c->reason[0] != '\0')
		json_object_set_new(o, "error", json_string(c->reason));
	return o;
}

struct summary_call {
	struct bmp *b;
	json_t *out;
};

static void
on_summary(void *arg) RUNS_ON(role_bmp)
{
	struct summary_call *call = arg;
	struct bmp *b = call->b;
	json_t *collectors = json_array();

	for (unsigned i = 0; i < b->count; i++)
		json_array_append_new(collectors, collector_json(b->collector[i]));
	call->out = json_pack("{s:o, s:I, s:I}", "collectors", collectors, "lost",
		(json_int_t)b->lost, "memory_bytes", (json_int_t)arena_bytes(b->arena));
}

json_t *
bmp_summary(struct bmp *b)
{
	struct summary_call call = {.b = b};

	if (layers_call_bmp(b->config.layers, on_summary, &call) != 0)
		return NULL;
	return call.out;
}

/* ---- life ---- */

static void
bmp_stop(void *ctx)
{
	struct bmp *b = ctx;

	role_enter_bmp();
	timer_cancel(b->thread, &b->poll);
	for (unsigned i = 0; i < b->count; i++)
		collector_end(b->collector[i]);
	b->count = 0;
	if (b->cursor != NULL)
		journal_unsubscribe(b->config.layers->journal, b->cursor);
	b->cursor = NULL;
}

static int
bmp_begin_thread(void *ctx, struct thread *self)
{
	struct bmp *b = ctx;

	b->thread = self;
	return qsbr_register(b->config.layers->readers, &b->reader);
}

int
bmp_create(const struct bmp_config *c, struct bmp **out)
{
	struct bmp *b = calloc(1, sizeof(*b));
	int err;

	if (b == NULL)
		return -ENOMEM;
	b->config = *c;
	b->ask.bmp = b;
	b->out.bmp = b;
	b->poll.fire = poll_fire;
	err = arena_create("bmp", &b->arena);
	if (err == 0) {
		b->attrs = arena_alloc(b->arena, ATTR_SET_MAX);
		b->all =
			arena_alloc(b->arena, sizeof(*b->all) + PEER_MAX * sizeof(b->all->path[0]));
		if (b->attrs == NULL || b->all == NULL)
			err = -ENOMEM;
	}
	if (err != 0)
		bmp_destroy(b);
	else
		*out = b;
	return err;
}

int
bmp_start(struct bmp *b, const unsigned *cpus, unsigned cpu_count, struct thread **out)
{
	struct thread_config c = {.name = "keel-bmp",
		.cpus = cpus,
		.cpu_count = cpu_count,
		.ctx = b,
		.start = bmp_begin_thread,
		.stop = bmp_stop,
		.work = bmp_work};

	return thread_create(&c, out);
}

void
bmp_destroy(struct bmp *b)
{
	if (b == NULL)
		return;
	if (b->arena != NULL) {
		for (unsigned i = 0; i < SHARDS_MAX; i++)
			path_ring_destroy(b->ring[i]);
		for (unsigned i = 0; i < ENTITIES; i++)
			arena_free(b->arena, b->peer[i]);
		path_ring_destroy(b->out_ring);
		arena_free(b->arena, b->out_set);
		arena_free(b->arena, b->out.answer);
		arena_free(b->arena, b->attrs);
		arena_free(b->arena, b->all);
		arena_destroy(b->arena);
	}
	free(b);
}
