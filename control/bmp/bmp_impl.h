/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of this folder: sessions, collectors and the thread (bmp.c), routes of tables and changes (bmp_route.c), Adj-RIB-Out
 * after policy (bmp_adj_out.c). All run on the thread of BMP, except the questions to the session thread.
 */
#pragma once

#include "control/base/layers.h"
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/bmp/bmp.h"
#include "control/bmp/bmp_msg.h"
#include "control/config/config.h"
#include "control/session/session.h"
#include "rib/table/path_ring.h"
#include "rib/shard/shard.h"

#define SECOND UINT64_C(1000000000)
#define OUT_SIZE (1u << 20)
#define OUT_ROOM (BMP_HEADER_LEN + 2 * MONITOR_MESSAGE_MAX + BGP_EXTENDED_MSG_MAX)
#define OUT_WALK (256u << 10) /* a walk of the tables leaves the rest for live changes */
#define ASKED 8u /* sessions in one question to the session thread */
#define OUT_NAMES 64u /* changed routes of Adj-RIB-Out in one question */
#define OUT_ANSWER (2 * ATTR_SET_MAX)
#define OUT_PAUSE_NS 1000000u /* until the next question; four times the slice, if longer */
#define LOC 0u /* the Loc-RIB of the default instance: PEER_SELF */
/* What a Peer Up names: the peers by id, and the Loc-RIB of each instance at PEER_MAX + id of the VRF. */
#define ENTITIES (PEER_MAX + SHARD_VRFS_MAX)
#define ENTITY_WORDS (ENTITIES / 64)
#define INSTANCE_NAME_MAX 64
#define NAME_SIZE (ADDR_TEXT_MAX + 8)
static_assert(OUT_WALK + OUT_ROOM < OUT_SIZE, "room for live changes");

typedef uint64_t entity_bits[ENTITY_WORDS];

static inline bool
bit(const uint64_t *set, unsigned i)
{
	return set[i / 64] >> i % 64 & 1;
}

static inline void
bit_set(uint64_t *set, unsigned i)
{
	set[i / 64] |= 1ull << i % 64;
}

static inline void
bit_clear(uint64_t *set, unsigned i)
{
	set[i / 64] &= ~(1ull << i % 64);
}

static inline void
bits_add(entity_bits set, const entity_bits more)
{
	for (unsigned i = 0; i < ENTITY_WORDS; i++)
		set[i] |= more[i];
}

/* The lowest bit from `from` on; ENTITIES: none. */
static inline unsigned
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

static inline bool
is_loc(unsigned id)
{
	return id == LOC || id >= PEER_MAX;
}

static inline unsigned
loc_of(struct vrf_id vrf)
{
	return vrf.v == VRF_DEFAULT.v ? LOC : PEER_MAX + (unsigned)vrf.v;
}

/* A session as last reported by the session thread. */
struct monitored {
	struct bmp_peer head; /* without flags of a view */
	struct vrf_id vrf;
	bool up, as4, fall_sent;
	uint16_t fall_event; /* session_monitor.fall_event */
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
	/* While a collector wants best paths: their sources by destination; PATH_HAD_NONE: no best path. */
	struct best {
		uint16_t *source;
		uint32_t size;
	} best[SHARD_TABLES_MAX];
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

/* ---- bmp.c ---- */

/* A writer behind the output, with OUT_ROOM octets at least. False: no room. */
bool out_begin(struct collector *c, struct wr *w);
void out_end(struct collector *c, struct wr *w, size_t at);
/* Octets that the collector has not accepted. */
size_t out_waits(const struct collector *c);
/* Changes of the peer are lost for the collector. */
void collector_lost(struct collector *c, unsigned peer);
/* The collector gets changes of the peer. A session that is still to be compared counts as lost. */
bool follows(struct collector *c, unsigned id);

/* ---- bmp_route.c ---- */

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

/* RFC 7854 4.6. False: no room. */
bool route_put(struct collector *c, const struct route *r);
/* False: no such table. */
bool table_of(const struct bmp *b, struct vrf_id vrf, enum family f, struct shards_table *t);
/* Live changes of the Adj-RIBs-In, and of the Loc-RIBs. True while there is more. */
bool changes_run(struct bmp *b);
bool journal_run(struct bmp *b);
/* No collector wants best paths. */
void best_forget(struct bmp *b);
/* Changes of all peers are lost for the collector. */
void peers_lost(struct collector *c);
/* The peer whose Adj-RIB-Out is to be read. False: all are read. */
bool walk_out_peer(struct collector *c);
/* In a read section. True while there is more, and room. */
bool walk_run(struct collector *c);

/* ---- bmp_adj_out.c ---- */

/* In a read section: asks the session thread about changed routes and walks. */
void out_send(struct bmp *b) RUNS_ON(role_bmp);
