/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of the session room. Owner of everything here: the session thread.
 *
 * A peer has two connections, an outgoing and an incoming connection. Both run the state machine of
 * RFC 4271 8 until the collision rules (6.8) close one of the two. The timers of the peer (connect
 * retry, idle hold) serve both connections.
 *
 *	session.c          speaker, configuration, requests of main
 *	session_listen.c   listeners, passwords, connections from ranges
 *	session_peer.c     events and actions of the state machine, OPEN, collision, up and down
 *	session_io.c       sockets, buffers, timers of a connection
 *	session_in.c       received messages
 *	session_batch.c    batches of records for the shards, runs
 *	session_out.c      export, refresh in both directions
 *	session_restart.c  retained routes of an ended session (RFC 4724, RFC 8538)
 *	session_limit.c    max_prefixes
 *	session_faults.c   faulty messages of a peer
 *	session_slow.c     slow peers
 *	session_links.c    interfaces of the host: own next hops, lost links
 *	session_monitor.c  what BMP reports of sessions
 *	session_mrt.c      records of messages and states (MRT)
 */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "control/session/fsm.h"
#include "control/session/host_socket.h"
#include "control/session/refresh.h"
#include "control/session/session.h"
#include "control/session/slow_peer.h"
#include "control/base/threads.h"
#include "control/export/rt_filter.h"
#include "control/export/update_group.h"
#include "lpm/base/arena.h"
#include "lpm/base/in_use.h"

#include <stddef.h>

#define NS_PER_S 1000000000ull
#define RX_SIZE (256u << 10)
#define TX_SIZE (128u << 10)
/* Part of the output buffer reserved for keepalives, refreshes and the NOTIFICATION. */
#define TX_RESERVE 8192u
/*
 * Export writes at most this much, and only after the socket has accepted everything before: a live
 * change waits for what lies here and in the socket (host_socket.c), and for the messages of one
 * batch.
 */
#define TX_EXPORT (64u << 10)
static_assert(TX_EXPORT > BGP_EXTENDED_MSG_MAX, "the largest message fits");
static_assert(TX_EXPORT + TX_RESERVE <= TX_SIZE, "other messages have room");
/*
 * The connection of a peer that sends a steady stream of UPDATEs is polled every STREAM_POLL_NS
 * instead of watched by epoll, so that changes of the stream leave together
 * (docs/decisions/0020). Polling begins after STREAM_READS reads of less than STREAM_OCTETS, each
 * within STREAM_GAP_NS of the read before, if a poll at this rate would read less than half of
 * STREAM_OCTETS. Polling ends after STREAM_MISSES polls without octets, or at a read of
 * STREAM_OCTETS: the thread is then slower than the peer, and epoll gives large reads.
 */
#define STREAM_GAP_NS 2000000u
#define STREAM_READS 16u
#define STREAM_MISSES 3u
#define STREAM_OCTETS (16u << 10)
#define STREAM_POLL_NS 4000000u
#define BATCH_SPARES_MAX 5 /* one for each field of an UPDATE */
#define BUFFER_SPARES_MAX 4
#define VPN_NLRI_MAX (BGP_EXTENDED_MSG_MAX + RIB_NLRI_SLACK)
#define INPUT_RUNS_MAX 2
/* Of one peer before the next peer: octets, about 0.1 ms, and work for a shard. */
#define INPUT_OCTETS (16u << 10)
#define INPUT_NS 4000000u
/* While groups are far behind: */
#define INPUT_LEAST 64 /* input has at least this part of a turn */
#define INPUT_LEAST_NS 16000u /* of a piece of input */
#define LAG_TURNS 16u /* between two measurements of the lag */
#define LAG_PATIENCE_NS 500000000u /* input then no longer waits for a group without progress */
#define ADDRESS_BUCKETS 4096u
#define LINGERERS_MAX 64
#define LINGER_NS (2 * NS_PER_S)
#define IDLE_HOLD_MAX_S 60u
/* How long the OPEN of the losing connection waits for the OPEN on the winning connection. */
#define COLLISION_NS (2 * NS_PER_S)
/* Connections from ranges that wait for session_add(). */
#define HELD_MAX 64
#define HELD_NS (5 * NS_PER_S)
#define IDLE_HOLD_FORGIVEN_S 60u /* a session that was up this long resets the back-off */
#define BATCH_RETRY_NS 1000000u
#define BATCH_TIDY_NS (NS_PER_S / 4)
#define ACCEPT_RETRY_NS 100000000u

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

struct peer;

/* Head of a list, or the link of a list member. `next` NULL: in no list. */
struct ring {
	struct ring *next, *prev;
};

/* A NOTIFICATION to send; lent for the call. */
struct note {
	uint8_t code, subcode;
	uint16_t data_len;
	const uint8_t *data;
	const char *text; /* RFC 9003 */
};

struct negotiated {
	bool as4, extended_message, route_refresh, enhanced_route_refresh;
	uint8_t families, extended_next_hop; /* bits by enum family */
	bool rt_constraint; /* memberships (RFC 4684) */
	uint16_t hold_time_s;
};

/* A copy of a message; NULL: none, or no memory. */
struct kept_message {
	uint8_t *octets;
	uint16_t len;
};

/* The own end of a connection, by the interface that has the own address. */
struct local_end {
	/* of each family: the own address, or one of the interface; `v6` is never link-local */
	struct ip_addr v4, v6;
	struct ip_addr link_local; /* with its zone; only with `on_link` */
	unsigned ifindex; /* 0: no interface has the own address */
	uint16_t zone; /* of the link shared with the peer; 0: the peer is not on the link */
	bool up; /* the interface */
	bool on_link; /* the peer is in a subnet of the own address */
	bool returns; /* the interface does */
};

struct connection {
	struct peer *peer;
	bool outgoing;
	uint8_t state; /* enum fsm_state */
	struct watch watch; /* fd -1: closed */
	uint32_t interest; /* epoll events of the watch */
#define CONNECTION_EVENTS 2
	/* CONNECTION_EVENTS while memory for SESSION_UP and SESSION_DOWN is reserved */
	uint8_t events;
	bool connecting;
	/*
	 * end of file or error on the socket; EV_TCP_FAIL follows when all received octets are
	 * handled
	 */
	bool ended;
	int error; /* errno of the failure; 0: end of file */
	/* the next message waits for a batch, or for the OPEN on the other connection */
	bool waiting;
	bool noted; /* a NOTIFICATION was written: close lingers */
	bool hard_reset; /* the peer sent a Hard Reset (RFC 8538 3.1) */
	/* since when the OPEN waits for the other connection; 0: not waiting */
	uint64_t deferred_ns;

	struct timer hold, keepalive, send_hold;
	uint64_t hold_ns, hold_armed_ns, last_message_ns;
	uint64_t sent_ns; /* when the peer last accepted octets, or the output buffer was empty */
	uint64_t keepalive_due_ns;

	struct ring polled; /* in speaker.polled */
	uint64_t read_ns; /* of the last read with octets */
	unsigned stream_reads, stream_misses;
	uint64_t stream_ns; /* of the read before the first of stream_reads */
	size_t stream_octets; /* of stream_reads */

	uint8_t *rx, *tx; /* NULL while empty */
	size_t rx_head, rx_tail, tx_head, tx_tail;
	uint8_t tx_families; /* of the routes in `tx`, bits by enum family */

	struct bgp_open open; /* of the peer, without raw[] */
	struct kept_message open_sent, open_received; /* for BMP */
	struct negotiated n;
	struct ip_addr local_addr;
	struct local_end local; /* source of the next hops of both families */
	uint64_t opened_ns;
};

enum { CONN_OUT, CONN_IN, CONN_COUNT };

struct refresh_job {
	uint32_t id;
	/*
	 * Export: number of the walk that answers the job. Policy: number of update_group_settle().
	 * Import without BoRR: number of the End-of-RIB at the end of the answer.
	 */
	uint32_t walk;
	bool sent, begun; /* import: the request was sent; a BoRR followed */
};
struct refresh_jobs {
	struct refresh_job *job;
	unsigned count, size;
};

/* Two peers load simultaneously if UPDATEs of both initial tables arrive within this time. */
#define LOADING_NS (NS_PER_S / 50)

struct peer_family {
	struct peer *peer;
	enum family family;
	struct update_member *group; /* NULL: not negotiated, or not established */
	struct refresh_serve serve;
	bool serving; /* counted in speaker.serving */
	uint32_t walks; /* count of refresh walks begun */
	struct refresh_jobs import_jobs, export_jobs;
	struct refresh_jobs policy_jobs; /* `walk`: the number of update_group_settle() */
	bool request_owed; /* a ROUTE-REFRESH waits for space in the output */
	uint64_t requested_ns; /* time of our last ROUTE-REFRESH; 0: no request yet */
	uint64_t requested_updates; /* count of received UPDATEs at that time */
	/* runs from the oldest open BoRR, or from our oldest request without BoRR */
	struct timer stale;
	/*
	 * The answer of a peer without enhanced route refresh ends with the End-of-RIB for which
	 * the job waits, or when the peer has been silent. The jobs end when the shards have
	 * handled all records up to that point (`answered_at`).
	 */
	struct timer answer;
	uint32_t ends_of_rib, ends_expected;
	uint64_t answer_updates; /* UPDATEs of the peer at the last check */
	unsigned silent_looks;
	uint32_t answered; /* jobs up to this End-of-RIB wait for the shards only; 0: no job does */
	uint64_t *answered_at; /* count of records by shard; NULL: no unframed request yet */
	bool refreshing; /* between BoRR and EoRR */
	bool owed_stale, owed_long_lived;
	struct timer spread; /* min_advertisement_s */
	uint64_t not_before_ns;
	bool spreads; /* octets were sent since the group was idle: the next pause is due */
	bool end_of_rib_received, end_of_rib_sent;
	bool retained; /* the shard keeps stale routes of an earlier session */
	bool long_lived; /* retained beyond the restart time (RFC 9494); `restart` is its end */
	/*
	 * The long-lived phase ended in this session, before End-of-RIB: the next loss flushes the
	 * family (RFC 9494 4.2).
	 */
	bool overdue;
	uint32_t long_lived_s; /* length of this phase, if there is a phase */
	struct timer restart; /* until the peer is back; then until its End-of-RIB */
	struct {
		enum limit_level level;
		uint64_t seen; /* the count at the last check */
		/* prefixes refused by the limit when the limit was last changed */
		uint64_t refused;
		/*
		 * With several shards: an upper bound of the stored prefixes is stored + sent, once
		 * the shards have handled all records.
		 */
		uint64_t stored; /* at the last check */
		uint64_t sent; /* prefixes announced since the previous mark */
		uint64_t sent_after_mark;
		uint64_t mark[SHARDS_MAX]; /* count of records */
		enum limit_level out; /* of the advertised prefixes */
		uint64_t out_passed; /* how often the limit was exceeded, all sessions */
	} limit; /* max_prefixes, max_prefixes_out */
	struct slow_peer slow;
	uint64_t requests_sent, borr_sent, eorr_sent, borr_received, eorr_received;
};

struct peer {
	struct speaker *speaker;
	/* Links in the lists of the speaker. */
	struct ring ready, established, exports, lives, owing, leaving;
	struct peer *next_of_address; /* in the bucket of speaker.by_address */
	struct peer_id id;
	struct input_share {
		unsigned octets; /* of INPUT_OCTETS */
		uint64_t ns; /* of INPUT_NS */
	} share; /* handled of the present share */
	struct {
		unsigned left; /* live prefixes */
		bool runs;
		uint64_t at_ns; /* of the last refill */
	} burst;
	bool running, removed;
	/* removed and owes no record: freed when the shards have handled this many records */
	bool settled;
	uint64_t settled_at[SHARDS_MAX];
	bool held; /* stopped by max_prefixes until an operator resets the peer */
	bool limited; /* a family has max_prefixes */
	struct ring limit_ring; /* in speaker.limit_peers */
	unsigned limit_looks; /* remaining checks */
	/* The begin of the session, or the last change of the limits: input_mark(). */
	uint64_t limit_from[SHARDS_MAX];
	bool limit_changed; /* the shards may not have handled all records before the change */
	struct timer limit_restart; /* restart_s, while held */
	struct ring slow_ring; /* in speaker.slow_peers */
	bool as_from_open; /* the last OPEN determined config.asn and .external */
	bool came; /* dynamic: a connection was accepted */
	bool gone; /* dynamic: SESSION_DYNAMIC_GONE was reported */
	/* memory for SESSION_DYNAMIC_GONE and SESSION_DOWN is reserved */
	bool gone_reserved, down_reserved;
	/* the peer sent Administrative Reset, or the link was lost: no idle hold */
	bool again_at_once;
	bool link_lost; /* ended the last session: an attempt follows when the link is back */
	struct config_peer config; /* strings are stored in this struct, or NULL */
	char vrf_name[64];
	char password[HOST_SOCKET_PASSWORD_MAX + 1];
	struct session_policies policies;
	struct connection conn[CONN_COUNT];
	struct connection *up; /* the established connection */
	uint8_t noted_state; /* enum fsm_state: the last of mrt_state() */
	struct timer connect_retry, idle_hold;
	struct timer collision; /* only wakes the loop */
	uint32_t idle_hold_s; /* duration of the next idle hold */
	/* the peer is sending its initial table: no pause and no End-of-RIB yet */
	bool loading_table;
	bool drained; /* all received messages were handled since the last UPDATE */
	uint64_t update_ns; /* when the peer last sent an UPDATE in this session; 0: not yet */
	struct peer_family family[FAMILY_COUNT];
	/* Memberships of route targets; empty unless negotiated. */
	struct peer_rt {
		struct rt_list {
			uint32_t *at; /* ids of speaker.rt.targets, ascending */
			unsigned count, size;
		} received;
		uint64_t *sent; /* bits by id */
		uint32_t sent_words;
		bool client, external; /* the class in which the lists are counted */
		bool all; /* too many were received: the peer gets all routes */
		bool ended; /* End-of-RIB was received, or is not awaited any more */
		/*
		 * A pass over the targets sends what is wanted, then withdraws the rest: `next` is
		 * the id of the next target. `again`: another pass follows. `refresh`: the next
		 * pass sends all (`resends`).
		 */
		bool due, again, refresh, resends, withdraws, end_sent, wants_default;
		uint32_t next;
		/*
		 * Of earlier sessions, while the peer restarts gracefully; `asks_all`: instead, the
		 * peer gets all routes. In the list speaker.rt.keepers.
		 */
		struct rt_list kept;
		bool asks_all;
		struct ring keeper;
		struct rt_filter *filter; /* a reference; NULL: no filter */
		/* until End-of-RIB: its latest time; later: when changes become a filter */
		struct timer wait;
	} rt;
	uint8_t export_first; /* the family that exports first in the next turn */
	bool export_more; /* the last turn of export left something to send */

	/* Records that wait for a batch. DOWN precedes UP; UP followed by DOWN cancels out. */
	bool owed_down, owed_up;
	struct rib_session_up up_record;
	struct rib_session_down down_record;

	uint64_t established_ns;
	uint32_t established_count;
	uint32_t session_number; /* of the last session, unlike that of any other peer */
	char last_error[400];
	/* why the session ends, from the cause until peer_down(); .text NULL: no cause yet */
	struct session_fall fall;
	struct session_fall falls[SESSION_FALLS];
	struct peer_faults *faults; /* NULL: no faulty message yet */
	/* the NOTIFICATION that ended the last session, for BMP */
	struct kept_message fall_message;
	bool fall_sent;
	uint16_t fall_event; /* as session_monitor.fall_event */
	uint64_t messages_received, messages_sent, updates_received, updates_sent, hold_rearmed;
	uint64_t keepalive_late_ns; /* maximum */
};

struct range {
	struct speaker_range r; /* .password: NULL, or points to `password` */
	char password[HOST_SOCKET_PASSWORD_MAX + 1];
};

/* A connection from a range. Nothing is read until main has added a session. */
struct held {
	struct speaker *speaker;
	struct held *next;
	struct timer timer;
	struct vrf_id vrf;
	struct ip_addr addr;
	int fd;
};

struct listener {
	struct speaker *speaker;
	struct watch watch;
	struct timer again; /* accepts again after a shortage of descriptors */
	struct vrf_id vrf;
	const struct netns *netns; /* NULL: `default` */
	enum afi afi;
	uint16_t tcp_mss; /* the smallest of the peers and ranges; 0: none has one */
	struct listener *next;
};

/* A group without members, until it is dismantled. */
struct leftover {
	struct update_group *group;
	struct leftover *next;
};

/*
 * A closed connection, until the peer has read our NOTIFICATION: closing a socket with unread
 * octets sends a RST, which would discard the NOTIFICATION.
 */
struct lingerer {
	struct speaker *speaker;
	struct watch watch;
	struct timer timer;
	struct lingerer *next;
	uint8_t *tx;
	size_t tx_head, tx_tail;
};

struct speaker {
	struct speaker_config config;
	struct thread *thread;
	unsigned reader;
	struct adj_records *records; /* of advertised paths */
	struct trace_tap *tap; /* NULL: no trace */
	struct record_file *record[CONFIG_MRT_MAX]; /* speaker_record() */
	unsigned record_count;
	struct {
		struct interface *interfaces;
		struct timer timer; /* runs after a change */
		uint64_t held_ns; /* until then: speaker_forwarder() */
	} links;
	struct buffer_pool {
		uint8_t *spare[BUFFER_SPARES_MAX];
		unsigned count;
	} rx_pool, tx_pool;
	struct update_groups *groups; /* created with the first established session */
	struct path_ring *out_changes; /* speaker_monitor_out() */
	struct leftover *leftovers;
	struct peer *by_id[PEER_MAX]; /* all peers */
	struct peer *by_address[ADDRESS_BUCKETS]; /* all peers; newest first within a bucket */
	/*
	 * Lists of peers with work: a wake-up visits only these, since most of 4,000 peers may be
	 * idle.
	 *	ready        octets were read, or a connection ended
	 *	established  the session is established
	 *	exports      due a turn of export: output drained, a timer, a request, more to send
	 *	lives        due a turn of export of live changes alone
	 *	owing        records wait for a batch
	 *	leaving      removed; the shards have not handled the last records
	 */
	struct ring ready, established, exports, lives, owing, leaving;
	unsigned ready_count;
	struct ring polled; /* connections of peers that send a stream */
	struct timer poll; /* armed while a connection is polled */
	bool export_all; /* all established peers are due: new rules, a plan, labels */
	struct timer pass_timer; /* wakes the loop: update_groups_pass_ns() */
	struct listener *listeners;
	struct range *ranges;
	unsigned range_count;
	struct held *held;
	unsigned held_count;
	struct lingerer *lingerers;
	unsigned lingerer_count;

	struct shards shards;
	struct speaker_input {
		struct shard_input *to;
		struct rib_batch *batch; /* being filled */
		struct rib_batch *spare[BATCH_SPARES_MAX];
		unsigned spare_count;
		uint64_t records; /* count of records put, including those in `batch` */
		/*
		 * records of this shard wait until the first shard has handled this many of its
		 * records
		 */
		uint64_t after;
	} input[SHARDS_MAX];
	uint64_t created_ns;
	bool restarting; /* speaker_config.restarted, until speaker_restart_end() */
	bool ends; /* speaker_restart_cancel() */
	bool export_left; /* the last turn did not end the exports */
	bool live_left; /* update_groups_live() has more, from live_ns on */
	uint64_t live_ns;
	struct {
		uint64_t entries, position, since_ns; /* of the slowest group */
		int64_t credit_ns; /* for input */
	} lag;
	bool starved; /* no batch was free, or too many runs are unfinished */
	/*
	 * Input goes to the shards in runs of limited size, and reading stops while too many are
	 * unfinished (session_batch.c): a live change waits for few prefixes of a peer that sends a table.
	 */
	struct {
		struct run_size {
			unsigned prefixes;
			uint64_t ns; /* of work for a shard, by shard_cost_ns() */
		} open;
		unsigned count; /* of unfinished runs */
		/*
		 * Of the unfinished runs, the oldest first: sizes, and counts of records at the
		 * end.
		 */
		struct run_size size[INPUT_RUNS_MAX];
		uint64_t end[INPUT_RUNS_MAX][SHARDS_MAX];
		uint64_t whole; /* journal sequence before the oldest unfinished run */
		uint64_t whole_ns; /* when that run was handed over */
		uint64_t pushed_ns; /* when the newest run was handed over */
		unsigned live; /* live prefixes in the open run */
		bool here; /* the run that is handed over may be done on this thread */
		/* when the last live prefix, and the last prefix of a whole table, was received */
		uint64_t live_ns, bulk_ns;
	} run;
	struct {
		/* Each membership of a peer or of ours once, by dense ids. */
		struct rt_targets {
			struct rt_target {
				struct rt_want want;
				uint32_t next; /* in the bucket, or in the list of free ids */
				uint32_t lists; /* of peers, with the membership */
				uint32_t clients, others; /* of these: of internal peers */
				uint32_t sent; /* peers that were sent the membership */
				bool own, used;
			} * at;
			uint32_t *bucket; /* `size` lists of ids */
			uint32_t count, size, free;
		} targets;
		struct rt_census {
			unsigned all, external; /* peers with VPN families, and keepers */
			unsigned asks_all[2]; /* internal peers; of reflector clients [true] */
		} census;
		uint32_t *own; /* targets of our instances */
		unsigned own_count;
		struct rt_filter *filters;
		struct ring keepers; /* peers with kept memberships */
		bool dirty; /* what peers are sent must be computed again */
	} rt;
	struct {
		struct swaps *swaps; /* NULL: none */
		struct speaker_labels batch;
		bool sent; /* `batch` is with the fib thread */
		struct timer tidy;
	} labels;
	struct timer retry;
	struct timer tidy; /* returns unused batches */
	/* of the current UPDATE: decoded, and packed for its two announced fields */
	struct attr_set *attrs; /* ATTR_SET_MAX */
	struct attr_packed *packed[2]; /* ATTR_PACKED_MAX */
	uint8_t *vpn_nlri; /* VPN_NLRI_MAX: prefixes of VPN families, in the form of records */
	uint64_t random;
	unsigned turn;
	struct refresh_pace pace;
	struct timer pace_timer; /* end of the rest, when a request waits for it */
	uint32_t sessions; /* count of established sessions, of all peers */
	unsigned serving; /* count of families with a running refresh walk */
	struct peer_id table_sender; /* the peer that last sent part of its initial table */
	uint64_t table_update_ns; /* time of that UPDATE */
	uint64_t loading_ns; /* last time two peers were sending initial tables simultaneously */
	struct timer limits;
	size_t fault_octets; /* of faulty messages, all peers */
	struct ring limit_peers; /* peers with recent UPDATEs */
	_Atomic uint8_t limit_level[PEER_MAX][FAMILY_COUNT]; /* enum limit_level; main reads */
	_Atomic uint8_t limit_out_level[PEER_MAX][FAMILY_COUNT]; /* as limit_level */
	struct ring slow_peers; /* peers with a full connection, and slow peers */
	struct timer slow_timer;
	uint64_t slow_due_ns; /* when slow_timer is due */
	_Atomic uint8_t slow[PEER_MAX]; /* bits by enum family; main reads */
	struct hist keepalive_late, turns;
	/* peers whose sessions began or ended: speaker_monitor_changed() */
	_Atomic uint64_t monitor[PEER_WORDS];
	_Atomic bool monitor_any;
};

static inline void
ring_init(struct ring *r)
{
	r->next = r->prev = r;
}

static inline bool
ring_empty(const struct ring *r)
{
	return r->next == r;
}

static inline void
ring_link(struct ring *before, struct ring *r)
{
	r->next = before;
	r->prev = before->prev;
	before->prev->next = r;
	before->prev = r;
}

static inline void
ring_insert(struct ring *before, struct ring *r)
{
	in_use_begin(r, IN_USE_NODE, NULL);
	ring_link(before, r);
}

/* False: `r` was in no list. */
static inline bool
ring_remove(struct ring *r)
{
	if (r->next == NULL)
		return false;
	r->next->prev = r->prev;
	r->prev->next = r->next;
	*r = (struct ring){NULL, NULL};
	in_use_end(r, IN_USE_NODE, NULL);
	return true;
}

/* The list begins with `first`, one of its members. */
static inline void
ring_rotate(struct ring *head, struct ring *first)
{
	head->next->prev = head->prev;
	head->prev->next = head->next;
	ring_link(first, head);
}

/* Iterates over the peers of `list`; the current peer may leave the list. */
#define RING_EACH(p, list, member)                                                                 \
	for (struct ring *at_ = (list)->next, *next_;                                              \
		at_ != (list) &&                                                                   \
		(next_ = at_->next, (p) = container_of(at_, struct peer, member), true);           \
		at_ = next_)

static inline struct connection *
connection_other(struct connection *c)
{
	return &c->peer->conn[c->outgoing ? CONN_IN : CONN_OUT];
}

/* session.c */
/* NULL: no peer has this id. */
struct peer *peer_find(const struct speaker *s, struct peer_id id);
/* `ns`, changed at random by up to -less_percent and +more_percent. */
uint64_t speaker_jitter(struct speaker *s, uint64_t ns, unsigned less_percent,
	unsigned more_percent) RUNS_ON(role_session);

/* Schedules input of the peer for the next speaker_work(). */
void peer_ready(struct peer *p) RUNS_ON(role_session);
/* Schedules a turn of export for the peer, if the session is established. */
void peer_export_due(struct peer *p) RUNS_ON(role_session);
/* The same as update_due; `ctx`: the speaker. */
void member_due(void *ctx, struct peer_id id) RUNS_ON(role_session);
/* The first peer in the bucket of an address, regardless of the zone; follow next_of_address. */
struct peer *address_first(const struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr);

/* session_listen.c */
void listeners_close(struct speaker *s) RUNS_ON(role_session);
/* The namespace of a VRF, from the listeners; NULL: `default`, or speaker_listen() has not been called. */
const struct netns *listener_netns(const struct speaker *s, struct vrf_id vrf);
/* A peer with this `tcp_mss` has come; 0: a peer or ranges with `tcp_mss` have changed or gone. */
void listen_tcp_mss(struct speaker *s, struct vrf_id vrf, enum afi afi, uint16_t mss)
	RUNS_ON(role_session);
/*
 * Updates the TCP-MD5 password of an address on all listeners, after a peer was added, removed or
 * changed.
 */
void listen_password(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_session);
/* Accepts the held connection of a new peer, if there is one. */
void held_take(struct peer *p) RUNS_ON(role_session);
void held_close(struct speaker *s) RUNS_ON(role_session);

/* session_peer.c */
void peer_init(struct peer *p);
/*
 * Ends every timer of the peer. The thread calls this before it stops; after that, no timer may be
 * armed.
 */
void peer_timers_end(struct peer *p);
void peer_start(struct peer *p) RUNS_ON(role_session);
/* Ends both connections. `note` NULL: without a NOTIFICATION. */
void peer_stop(struct peer *p, const struct note *note) RUNS_ON(role_session);
/*
 * Decides how to continue when neither connection is open: idle hold, retry, or
 * SESSION_DYNAMIC_GONE.
 */
void peer_restart(struct peer *p) RUNS_ON(role_session);
bool peer_in_idle_hold(const struct peer *p);
/* The link of the connection is lost (`was_up`), or was never up: ends the connection without a NOTIFICATION. */
void peer_link_down(struct connection *c, bool was_up) RUNS_ON(role_session);
/* The link of the last session is back. */
void peer_link_back(struct peer *p) RUNS_ON(role_session);
/* Reports a dynamic peer to main for removal. */
void peer_gone(struct peer *p) RUNS_ON(role_session);
void peer_passive_changed(struct peer *p) RUNS_ON(role_session);
void peer_accept(struct peer *p, int fd) RUNS_ON(role_session);
void peer_error(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The cause of the end of the established session: `way` and `text` as in struct session_fall. */
void peer_cause(struct peer *p, const char *way, const char *text);
void peer_connect_error(struct peer *p, int error);
enum fsm_state peer_state(const struct peer *p);
uint32_t peer_local_as(const struct peer *p);
uint8_t peer_families(const struct config_peer *c);
void connection_event(struct connection *c, enum fsm_event event, const struct note *note)
	RUNS_ON(role_session);
/* True shortly after the OPENs, until the session is established: no second connection begins. */
bool connection_confirms(const struct connection *c);
/* False: the OPEN, and all input after the OPEN, waits. */
bool connection_open_received(struct connection *c, const uint8_t *msg, size_t len)
	RUNS_ON(role_session);

/* session_io.c */
struct host_socket_options peer_socket(const struct peer *p);
int connection_connect(struct connection *c) RUNS_ON(role_session);
/* Sets up the watch and the local address of a connected socket. 0, or -errno: closed. */
int connection_adopt(struct connection *c, int fd) RUNS_ON(role_session);
void connection_close(struct connection *c) RUNS_ON(role_session);
/* Buffers of connections, shared by all peers. 0, -ENOMEM. */
int buffers_init(struct speaker *s);
void buffers_fini(struct speaker *s);
/* Returns the buffer of received octets, or of octets to send, if the buffer is empty. */
void connection_handled(struct connection *c);
void connection_drained(struct connection *c);
void connection_interest(struct connection *c) RUNS_ON(role_session);
size_t connection_room(const struct connection *c);
/*
 * Returns room for at least `need` octets, to be committed with connection_wrote() and
 * connection_flush(), or returned with connection_drained(). NULL: the output is full, or no memory.
 */
uint8_t *connection_tail(struct connection *c, size_t need, size_t *room);
void connection_wrote(struct connection *c, size_t len, unsigned messages) RUNS_ON(role_session);
void connection_flush(struct connection *c) RUNS_ON(role_session);
void connection_keepalive(struct connection *c) RUNS_ON(role_session);
void connection_notify(struct connection *c, const struct note *note) RUNS_ON(role_session);
void connection_hold(struct connection *c, uint64_t hold_ns) RUNS_ON(role_session);
/* An UPDATE was accepted: raises EV_UPDATE, which restarts the hold timer. */
void connection_heard(struct connection *c, uint64_t now_ns) RUNS_ON(role_session);
void connection_keepalive_start(struct connection *c) RUNS_ON(role_session);
void connection_stop_timers(struct connection *c);
/* No octets of the peer wait to be read or handled. */
bool connection_silent(const struct connection *c);
void connection_timers_init(struct connection *c);
void streams_init(struct speaker *s);
/* Sends a NOTIFICATION on an unused socket and closes the socket. */
void refuse(int fd, uint8_t code, uint8_t subcode);
void lingerers_close(struct speaker *s) RUNS_ON(role_session);

/* session_trace.c; only with speaker.tap */
/* A received message; `octets`: one or more messages for the output buffer. */
void trace_received(const struct connection *c, const uint8_t *msg, size_t len)
	RUNS_ON(role_session);
void trace_sent(const struct connection *c, const uint8_t *octets, size_t len)
	RUNS_ON(role_session);

/* session_mrt.c */
/* A received message; only with speaker.record_count. */
void mrt_received(const struct connection *c, const uint8_t *msg, size_t len) RUNS_ON(role_session);
/* The state of connection `c` has changed; the state of its peer may have. */
void mrt_state(const struct connection *c) RUNS_ON(role_session);

/* session_trace.c: a TCP port of a socket, 0 on an error */
uint16_t socket_port(int fd, bool remote);

/* session_monitor.c */
void message_keep(struct speaker *s, struct kept_message *m, const uint8_t *octets, size_t len);
void message_forget(struct speaker *s, struct kept_message *m);
/* A session began or ended, or the peer was removed. */
void monitor_changed(struct peer *p);
/* A NOTIFICATION on the connection of an established session. */
void monitor_notification(struct connection *c, bool sent, const uint8_t *msg, size_t len);

/* session_in.c */
/* Handles received messages until the deadline. True while more can be handled now. */
bool connection_input(struct connection *c, uint64_t now_ns, uint64_t deadline_ns)
	RUNS_ON(role_session);

/* session_batch.c */
/* `retain`: families that the shard keeps as stale, bits by enum family. */
void input_owe_down(struct peer *p, struct rib_session_down down) RUNS_ON(role_session);
void input_owe_up(struct peer *p) RUNS_ON(role_session);
void input_owe_stale(struct peer_family *f) RUNS_ON(role_session);
void input_owe_long_lived(struct peer_family *f) RUNS_ON(role_session);
/* Puts the owed records into batches. False: no batch was free. */
bool input_settle(struct speaker *s) RUNS_ON(role_session);
bool peer_owes(const struct peer *p);
void input_init(struct speaker *s);
/* Returns all unused batches. */
void input_end(struct speaker *s) RUNS_ON(role_session);
/* Hands the open batches to the shards. */
void input_push(struct speaker *s) RUNS_ON(role_session);
/* As input_push(), unless too many runs are unfinished. */
void input_push_run(struct speaker *s) RUNS_ON(role_session);
/* Notes, by shard, the number of records put so far. */
void input_mark(const struct speaker *s, uint64_t mark[SHARDS_MAX]) RUNS_ON(role_session);
/* True if the shards have handled all records up to the mark. */
bool input_did(const struct speaker *s, const uint64_t mark[SHARDS_MAX]) RUNS_ON(role_session);
/* True if the shards have handled all prefixes that were received. */
bool input_handled(struct speaker *s) RUNS_ON(role_session);
/*
 * For export from several shards: the journal up to this sequence holds whole UPDATEs. Bounded: a
 * shard that is late does not delay export. UINT64_MAX: all of the journal.
 */
uint64_t input_whole(struct speaker *s, uint64_t now) RUNS_ON(role_session);

/* session_out.c */
int export_up(struct peer *p) RUNS_ON(role_session);
void export_down(struct peer *p) RUNS_ON(role_session);
/* Dismantles groups without members, in slices. True while there is more. */
bool leftovers_run(struct speaker *s, uint64_t deadline_ns) RUNS_ON(role_session);
/* Applies changed export rules of the configuration. */
void export_rules(struct peer *p) RUNS_ON(role_session);
/* The own addresses of the session have changed. */
void export_next_hops(struct peer *p) RUNS_ON(role_session);
/* Exports to one peer for a slice. The peer is due again while the socket accepts more. */
void export_run(struct peer *p, uint64_t deadline_ns) RUNS_ON(role_session);
/* Sends what the streams of the groups of the peer have, and does not read the journal or a walk. */
void export_run_live(struct peer *p) RUNS_ON(role_session);
void export_timers_init(struct peer_family *f);
void pace_init(struct speaker *s);
void refresh_received(struct peer_family *f) RUNS_ON(role_session);
/* Requests the routes of the peer without a job, if route refresh was negotiated. */
void refresh_request(struct peer_family *f) RUNS_ON(role_session);
void refresh_begun(struct peer_family *f) RUNS_ON(role_session);
/* An End-of-RIB of the peer ends the answer to a request without BoRR. */
void refresh_end_of_rib(struct peer_family *f) RUNS_ON(role_session);
void refresh_ended(struct peer_family *f) RUNS_ON(role_session);

/* session_restart.c */
#define RESTART_TIME_S 120 /* ours, as of BIRD and FRR: time for a new keeld to start and connect */
/* On stop: ends a session so that the peer keeps our routes, if the next process continues. */
void restart_leave(struct peer *p) RUNS_ON(role_session);
void restart_init(struct peer_family *f);
/* Adds to an OPEN what the peer needs to keep our routes over our restart. */
void restart_offer(const struct speaker *s, struct bgp_open_options *o) RUNS_ON(role_session);
/* Families, bits by enum family, whose routes may be retained over a restart of the peer. */
uint8_t restart_families(const struct connection *c);
/* Families that keep their routes when the session of `c` ends with this event. */
uint8_t restart_retain(const struct connection *c, enum fsm_event event, const struct note *note);
/* The session ended: reports the end to the shard and waits for the peer. */
void restart_lost(struct connection *c, uint8_t retain) RUNS_ON(role_session);
bool restart_waits(const struct peer *p);
/* The session is up again; to be called after input_owe_up(). */
void restart_up(struct connection *c) RUNS_ON(role_session);
void restart_end_of_rib(struct peer_family *f) RUNS_ON(role_session);
/* Flushes retained routes. */
void restart_forget(struct peer *p) RUNS_ON(role_session);

/* session_limit.c */
void limits_init(struct speaker *s);
void limit_init(struct peer *p);
/* Removes the peer from speaker.limit_peers and clears the alarm. */
void limit_forget(struct peer *p);
void limit_config(struct peer *p) RUNS_ON(role_session);
bool limit_changed(const struct config_peer *a, const struct config_peer *b);
/* A session begins; to be called before its first record. */
void limit_up(struct peer *p) RUNS_ON(role_session);
/* The limit has changed. */
void limit_again(struct peer *p) RUNS_ON(role_session);
void limit_down(struct peer *p) RUNS_ON(role_session);
/*
 * Counts the `count` prefixes of an UPDATE whose records are about to be put. Returns the limit for
 * these records (rib_record.limit); 0: no check necessary.
 */
uint32_t limit_of(struct peer *p, enum family f, unsigned count) RUNS_ON(role_session);
/* An UPDATE of the peer was received. */
void limit_received(struct peer *p) RUNS_ON(role_session);
/* False: max_prefixes_out is exceeded and must not be sent; limit_out_shut() ends the session. */
bool limit_sends(struct peer_family *f) RUNS_ON(role_session);
void limit_out_shut(struct peer_family *f) RUNS_ON(role_session);

/* session_slow.c */
void slow_init(struct speaker *s);
/* The connection of the established session is full: the looks at the peer begin. */
void slow_watch(struct peer *p) RUNS_ON(role_session);
/* The limits may have changed. */
void slow_config(struct peer *p) RUNS_ON(role_session);
/* The session ends: ends the looks, and the flags. */
void slow_down(struct peer *p) RUNS_ON(role_session);

/* session_links.c */
void links_init(struct speaker *s);
void links_fini(struct speaker *s);
/* Finds the local end of a new connection. */
void links_opened(struct connection *c);
/* True if the connection ends with its link. */
bool links_sensitive(const struct connection *c);
/* The peer is in a subnet of an interface that is up. */
bool links_on(const struct peer *p);
/*
 * No session can come: the link of the peer is down, the kernel has no route to the peer, or the link
 * on which the peer was (`was_on`) has gone.
 */
bool links_away(const struct peer *p, bool was_on);
/* The configuration of the peer has changed. */
void links_config(struct peer *p) RUNS_ON(role_session);

/* session_labels.c */
/* 0, -ENOMEM. */
int labels_init(struct speaker *s);
void labels_fini(struct speaker *s);
/* Arms the timer. 0, -ENOMEM. */
int labels_start(struct speaker *s);
/* A session is up: labels rest at least for the restart time of the peer. */
void labels_up(const struct connection *c) RUNS_ON(role_session);
/* The labels of the peer (rib/table/swap.h). */
void labels_view(const struct peer *p, struct session_view *out) RUNS_ON(role_session);
/* Sends waiting orders to the fib thread, unless earlier orders are not answered. */
void labels_send(struct speaker *s) RUNS_ON(role_session);

/* session_rt.c */
#define VPN_FAMILIES (1u << FAMILY_VPNV4_UNICAST | 1u << FAMILY_VPNV6_UNICAST)
void rt_init(struct peer *p);
void rt_free(struct peer *p);
void rt_fini(struct speaker *s);
/* The session is up: VPN families wait for the memberships of the peer. */
void rt_up(struct peer *p) RUNS_ON(role_session);
void rt_down(struct peer *p) RUNS_ON(role_session);
/*
 * The session of `c` ends, to be called before rt_down(). The memberships are kept if a VPN family
 * is in `retain`, bits by enum family.
 */
void rt_keep(const struct connection *c, uint8_t retain) RUNS_ON(role_session);
/* While the peer is down: forgets kept memberships if no VPN family is retained any more. */
void rt_retained(struct peer *p) RUNS_ON(role_session);
/* The memberships of a decoded UPDATE. */
void rt_received(struct connection *c, const struct bgp_update *u) RUNS_ON(role_session);
/* The peer asks for our memberships again (RFC 2918 4). */
void rt_refresh(struct connection *c) RUNS_ON(role_session);
/* Computes what peers are sent, after a change. */
void rt_work(struct speaker *s) RUNS_ON(role_session);
/* Sends due memberships, while there is room. */
void rt_send(struct peer *p) RUNS_ON(role_session);
/* Frees filters without users. */
void rt_sweep(struct speaker *s) RUNS_ON(role_session);
/* session_out.c: the VPN families of an established session begin. */
int export_up_vpn(struct peer *p) RUNS_ON(role_session);

static inline bool
share_is_used(const struct peer *p)
{
	return p->share.octets >= INPUT_OCTETS || p->share.ns >= INPUT_NS;
}

/* session_faults.c */
struct bgp_update;
struct nlri;
/* Records and logs an UPDATE with an error: `msg` is the whole message, `u` the decoded part. */
void peer_fault_update(struct peer *p, const struct bgp_update *u, const uint8_t *msg, size_t len)
	RUNS_ON(role_session);
/* Records and logs `count` prefixes with unusable labels in a sound UPDATE; `first` is the first of them. */
void peer_fault_labels(struct peer *p, const struct nlri *first, unsigned count, const uint8_t *msg,
	size_t len) RUNS_ON(role_session);
/* Records and logs any other message that ends the session. */
void peer_fault_message(struct peer *p, const struct bgp_error *error, const uint8_t *msg,
	size_t len) RUNS_ON(role_session);
/* Ends the window of log lines. */
void peer_faults_stop(struct peer *p);
/* Ends the window too: the timer is part of the freed record. */
void peer_faults_free(struct peer *p);

/* Call speaker_config.event_reserve and event_release, if set. */
int event_reserve(struct speaker *s, unsigned count);
void event_release(struct speaker *s, unsigned count);
