/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the session room share. All of it is the session thread's.
 *
 * A peer has two connections: the one that we open and the one that it opens. Each runs the machine of RFC 4271 8 by itself
 * until 6.8 leaves one of them; timers of the peer (connect retry, idle hold) belong to both.
 *
 *	session.c       speaker, configuration, what main asks
 *	session_listen.c  listeners, their passwords, who comes by a range
 *	session_peer.c  events and actions of the machine, OPEN, collision, up and down
 *	session_io.c    sockets, buffers, timers of a connection
 *	session_in.c    messages received -> the shard's batches
 *	session_out.c   export, refresh in both directions
 *	session_restart.c  what stays of a session that ended (RFC 4724, 8538)
 *	session_limit.c    max_prefixes
 *	session_faults.c   faulty messages of a peer
 */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "control/session/fsm.h"
#include "control/session/host_socket.h"
#include "control/session/refresh.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "control/export/update_group.h"
#include "lpm/arena.h"

#include <stddef.h>

#define NS_PER_S 1000000000ull
#define RX_SIZE (256u << 10)
#define TX_SIZE (512u << 10)
/* Of the output buffer: export leaves it to keepalives, refreshes and the NOTIFICATION. */
#define TX_RESERVE 8192u
/* Export goes on when the largest message has room, and the peer has taken a good part of what there was. */
#define TX_EXPORT_ROOM (TX_SIZE / 4)
static_assert(TX_EXPORT_ROOM > BGP_EXTENDED_MSG_MAX + TX_RESERVE, "the largest message fits");
#define BATCH_SPARES_MAX 24
#define LISTENERS_MAX 128
#define ADDRESS_BUCKETS 4096u
#define LINGERERS_MAX 64
#define LINGER_NS (2 * NS_PER_S)
#define IDLE_HOLD_MAX_S 60u
/* The OPEN of a connection that is to lose a collision waits so long for that of the other one. */
#define COLLISION_NS (2 * NS_PER_S)
/* Connections by a range that wait for a session_add(). */
#define HELD_MAX 64
#define HELD_NS (5 * NS_PER_S)
#define IDLE_HOLD_FORGIVEN_S 60u /* a session that was up so long starts the back-off anew */
#define BATCH_RETRY_NS 1000000u
#define BATCH_TIDY_NS (NS_PER_S / 4)
#define ACCEPT_RETRY_NS 100000000u

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

struct peer;

/* A list with a sentinel, or the place of a peer in a list. `next` NULL: in no list. */
struct ring {
	struct ring *next, *prev;
};

/* The NOTIFICATION that an event sends; lent for the call. */
struct note {
	uint8_t code, subcode;
	uint16_t data_len;
	const uint8_t *data;
	const char *text; /* RFC 9003 */
};

struct negotiated {
	bool as4, extended_message, route_refresh, enhanced_route_refresh;
	uint8_t families, extended_next_hop; /* bits by enum family */
	uint16_t hold_time_s;
};

struct connection {
	struct peer *peer;
	bool outgoing;
	uint8_t state; /* enum fsm_state */
	struct watch watch; /* fd -1: none */
	uint32_t interest; /* epoll events asked for */
#define CONNECTION_EVENTS 2
	uint8_t events; /* CONNECTION_EVENTS while memory for SESSION_UP and _DOWN is reserved here */
	bool connecting;
	bool ended; /* end of file, or an error: TCP_FAIL when what was read is handled */
	int error; /* errno of it; 0: end of file */
	bool waiting; /* its next message waits for a batch, or for the other connection */
	bool noted; /* a NOTIFICATION was put out: closing lingers */
	bool hard_reset; /* the peer said so (RFC 8538 3.1) */
	uint64_t
		deferred_ns; /* since when its OPEN waits for the other connection's; 0: it does not */

	struct timer hold, keepalive, send_hold;
	uint64_t hold_ns, hold_armed_ns, last_message_ns;
	uint64_t sent_ns; /* when the peer last took octets, or there were none */
	uint64_t keepalive_due_ns;

	uint8_t *rx, *tx;
	size_t rx_head, rx_tail, tx_head, tx_tail;

	struct bgp_open open; /* the peer's, without raw[] */
	struct negotiated n;
	struct ip_addr local_addr; /* ours of the session: local.addr */
	struct host_socket_local local; /* what next hops of either family are taken from */
};

enum { CONN_OUT, CONN_IN, CONN_COUNT };

struct refresh_job {
	uint32_t id;
	uint32_t
		walk; /* export: the walk that answers it; a policy's: update_group_settle(); import without BoRR: the End-of-RIB that ends it */
	bool sent, begun; /* import: its request left; BoRR came after it */
};
struct refresh_jobs {
	struct refresh_job *job;
	unsigned count, size;
};

/* Tables of two peers came within so much: they are told at once. */
#define LOADING_NS (NS_PER_S / 50)

struct peer_family {
	struct peer *peer;
	enum family family;
	struct update_member *group; /* its place in one; NULL: not negotiated, or not up */
	struct refresh_serve serve;
	bool serving; /* counted in speaker.serving */
	uint32_t walks; /* refresh walks begun */
	struct refresh_jobs import_jobs, export_jobs;
	struct refresh_jobs policy_jobs; /* `walk`: what update_group_settle() gave */
	bool request_owed; /* a ROUTE-REFRESH that waits for room in the output */
	uint64_t requested_ns; /* our last ROUTE-REFRESH; 0: none yet */
	uint64_t requested_updates; /* how many UPDATEs had come then */
	struct timer stale; /* from the oldest open BoRR, or our oldest request without one */
	/*
	 * A peer without enhanced refresh: its answer ends with the End-of-RIB that the job waits for, or when the peer has been silent. The
	 * jobs end when the shards have done all that had come until then (`answered_at`).
	 */
	struct timer answer;
	uint32_t ends_of_rib, ends_expected;
	uint64_t answer_updates; /* of the peer, at the last look */
	unsigned silent_looks;
	uint32_t answered; /* jobs up to this End-of-RIB wait for the shards alone; 0: none do */
	uint64_t *answered_at; /* records, by shard; NULL: no unframed request yet */
	bool refreshing; /* between BoRR and EoRR */
	bool owed_stale;
	struct timer spread; /* min_advertisement_s */
	uint64_t not_before_ns;
	bool end_of_rib_received, end_of_rib_sent;
	bool retained; /* the shard keeps routes of an earlier session, stale */
	struct timer restart; /* until the peer is back; then, until its End-of-RIB */
	struct {
		enum limit_level level;
		uint64_t seen; /* the count when it was last looked at */
		uint64_t refused; /* by the limit, when that was last changed */
		/* of several shards: no more than stored + sent are stored, once the shards have done all that they were given */
		uint64_t stored; /* when it was last looked at */
		uint64_t sent; /* prefixes announced since the mark before that */
		uint64_t sent_after_mark;
		uint64_t mark[SHARDS_MAX]; /* records */
	} limit; /* max_prefixes */
	uint64_t requests_sent, borr_sent, eorr_sent, borr_received, eorr_received;
};

struct peer {
	struct speaker *speaker;
	/* Places in the lists of the speaker: see there. */
	struct ring ready, established, owing, leaving;
	struct peer *next_of_address; /* the same bucket of speaker.by_address */
	struct peer_id id;
	bool running, removed;
	bool settled; /* removed, and owes nothing: gone when the shards have done so many records */
	uint64_t settled_at[SHARDS_MAX];
	bool held; /* stopped by max_prefixes until an operator resets it */
	bool limited; /* some family has max_prefixes */
	struct ring limit_ring; /* in speaker.limit_peers */
	unsigned limit_looks; /* left */
	struct timer limit_restart; /* restart_s, while it is held */
	uint64_t up_at[SHARDS_MAX]; /* records: with these the session has begun */
	bool any_as; /* config.asn and .external are what the last OPEN said */
	bool came; /* dynamic: a connection of it was taken */
	bool gone; /* dynamic: SESSION_DYNAMIC_GONE was told */
	bool gone_reserved, down_reserved; /* memory for SESSION_DYNAMIC_GONE, SESSION_DOWN */
	bool again_at_once; /* the peer's operator reset it: no idle hold */
	struct config_peer config; /* its strings are ours or NULL */
	char vrf_name[64];
	char password[HOST_SOCKET_PASSWORD_MAX + 1];
	struct session_policies policies;
	struct connection conn[CONN_COUNT];
	struct connection *up; /* the established one */
	struct timer connect_retry, idle_hold;
	struct timer collision; /* only wakes the loop */
	uint32_t idle_hold_s; /* the next one */
	bool tells_table; /* from the beginning on, without a pause, and no End-of-RIB yet */
	uint64_t told_ns; /* when it last did; 0: not yet */
	struct peer_family family[FAMILY_COUNT];
	uint8_t export_first; /* of these, in the next turn: the one behind that which was it in this one */

	/* Records that found no batch. DOWN goes before UP; a pair UP, DOWN is nothing. */
	bool owed_down, owed_up;
	struct rib_session_up up_record;
	struct rib_session_down down_record;

	uint64_t established_ns;
	uint32_t established_count;
	char last_error[400];
	struct peer_faults *faults; /* NULL: no faulty message yet */
	uint64_t messages_received, messages_sent, updates_received, updates_sent, hold_rearmed;
	uint64_t keepalive_late_ns; /* the latest */
};

struct range {
	struct speaker_range r; /* .password: NULL, or the one below */
	char password[HOST_SOCKET_PASSWORD_MAX + 1];
};

/* A connection by a range: nothing is read of it before main has made a session for it. */
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
	struct timer again; /* accepts once more when there may be descriptors */
	struct vrf_id vrf;
	enum afi afi;
};

/* The group of the last session that ended, until it is dismantled. */
struct leftover {
	struct update_group *group;
	struct leftover *next;
};

/* A closed connection until the peer has read our NOTIFICATION: closing with unread octets would reset it away. */
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
	/*
	 * Exported sets: read by this thread alone. Their grace periods have no readers: with those of the RIB, of whom this thread is one, a
	 * full retire list (a lost peer's whole Adj-RIB-Out) would wait for itself.
	 */
	struct qsbr *nobody;
	struct attr_table *exported;
	struct update_groups *groups; /* made with the first session that comes up */
	struct leftover *leftovers;
	struct peer *by_id[PEER_MAX]; /* all */
	struct peer *by_address[ADDRESS_BUCKETS]; /* all, the newest of a bucket first */
	/*
	 * Peers with work. A wake-up looks at these, and never at all peers: of 4,000 configured peers most may be idle.
	 * ready: octets were read, or a connection ended. owing: records found no batch. leaving: removed, and the shards have not done
	 * the last records.
	 */
	struct ring ready, established, owing, leaving;
	unsigned ready_count, established_count;
	struct listener listener[LISTENERS_MAX];
	unsigned listener_count;
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
		uint64_t records; /* that it was given, those in `batch` too */
		uint64_t
			after; /* of the first one's, up to the last that covers what this one has */
	} input[SHARDS_MAX];
	bool starved; /* no batch was free */
	struct timer retry;
	struct timer tidy; /* of batches; while there are some */
	struct attr_set *attrs; /* ATTR_SET_MAX */
	uint64_t random;
	unsigned turn;
	struct refresh_pace pace;
	struct timer pace_timer; /* the end of its rest, when somebody waits for it */
	unsigned serving; /* families that are answered now */
	struct peer_id teller; /* of whose table something came last */
	uint64_t told_ns; /* when */
	uint64_t loading_ns; /* when it were those of two at once */
	struct timer limits;
	size_t fault_octets; /* of faulty messages, all peers */
	struct ring limit_peers; /* something of these came lately */
	_Atomic uint8_t limit_level[PEER_MAX][FAMILY_COUNT]; /* enum limit_level; main reads */
	struct hist keepalive_late, turns;
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
ring_insert(struct ring *before, struct ring *r)
{
	r->next = before;
	r->prev = before->prev;
	before->prev->next = r;
	before->prev = r;
}

/* False: it was in no list. */
static inline bool
ring_remove(struct ring *r)
{
	if (r->next == NULL)
		return false;
	r->next->prev = r->prev;
	r->prev->next = r->next;
	*r = (struct ring){NULL, NULL};
	return true;
}

/* Every peer of `list`; the current peer may leave the list. */
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
uint32_t speaker_random(struct speaker *s) RUNS_ON(role_session);
/* `ns` less or more up to `percent`. */
uint64_t speaker_jitter(struct speaker *s, uint64_t ns, unsigned less_percent,
	unsigned more_percent) RUNS_ON(role_session);

/* Something of the peer waits to be handled by the next speaker_work(). */
void peer_ready(struct peer *p) RUNS_ON(role_session);
/* The first peer of the bucket of an address, whatever its zone; follow next_of_address. */
struct peer *address_first(const struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr);

/* session_listen.c */
void listeners_close(struct speaker *s) RUNS_ON(role_session);
/* After a peer of that address came, went or got another password: what the listeners have to know. */
void listen_password(struct speaker *s, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_session);
/* Its connection, if it is held. */
void held_take(struct peer *p) RUNS_ON(role_session);
void held_close(struct speaker *s) RUNS_ON(role_session);

/* session_peer.c */
void peer_init(struct peer *p);
void peer_start(struct peer *p) RUNS_ON(role_session);
/* Ends both connections. `note` NULL: silently. */
void peer_stop(struct peer *p, const struct note *note) RUNS_ON(role_session);
/* Neither connection lives: what comes of it. */
void peer_restart(struct peer *p) RUNS_ON(role_session);
bool peer_in_idle_hold(const struct peer *p);
/* Dynamic: main is told to remove it. */
void peer_gone(struct peer *p) RUNS_ON(role_session);
void peer_passive_changed(struct peer *p) RUNS_ON(role_session);
void peer_accept(struct peer *p, int fd) RUNS_ON(role_session);
void peer_error(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void peer_connect_error(struct peer *p, int error);
enum fsm_state peer_state(const struct peer *p);
uint32_t peer_local_as(const struct peer *p);
uint8_t peer_families(const struct config_peer *c);
void connection_event(struct connection *c, enum fsm_event event, const struct note *note)
	RUNS_ON(role_session);
/* False: it waits, and with it what follows. */
bool connection_open_received(struct connection *c, const uint8_t *msg, size_t len)
	RUNS_ON(role_session);

/* session_io.c */
struct host_socket_options peer_socket(const struct peer *p);
int connection_connect(struct connection *c) RUNS_ON(role_session);
/* Buffers, watch and local address of a connected socket. 0, -errno (closed). */
int connection_adopt(struct connection *c, int fd) RUNS_ON(role_session);
void connection_close(struct connection *c) RUNS_ON(role_session);
void connection_interest(struct connection *c) RUNS_ON(role_session);
size_t connection_room(const struct connection *c);
/* Where at least `need` octets may be written, then counted by connection_wrote(). NULL: there is no such room. */
uint8_t *connection_tail(struct connection *c, size_t need, size_t *room);
void connection_wrote(struct connection *c, size_t len, unsigned messages) RUNS_ON(role_session);
void connection_flush(struct connection *c) RUNS_ON(role_session);
void connection_keepalive(struct connection *c) RUNS_ON(role_session);
void connection_notify(struct connection *c, const struct note *note) RUNS_ON(role_session);
void connection_hold(struct connection *c, uint64_t hold_ns) RUNS_ON(role_session);
/* An UPDATE that was taken: EV_UPDATE, of which in Established only the hold timer hears. */
void connection_heard(struct connection *c, uint64_t now_ns) RUNS_ON(role_session);
void connection_keepalive_start(struct connection *c) RUNS_ON(role_session);
void connection_stop_timers(struct connection *c) RUNS_ON(role_session);
/* A whole message is in the receive buffer (or a header that is wrong). */
bool connection_message_ready(const struct connection *c);
/* Nothing of the peer's waits to be read or handled. */
bool connection_silent(const struct connection *c);
void connection_timers_init(struct connection *c);
/* Tells somebody that we will not talk to, and closes. */
void refuse(int fd, uint8_t code, uint8_t subcode);
void lingerers_close(struct speaker *s) RUNS_ON(role_session);

/* session_in.c */
/* Handles what was read, until the deadline. True while there is more that can be handled now. */
bool connection_input(struct connection *c, uint64_t now_ns, uint64_t deadline_ns)
	RUNS_ON(role_session);
/* `retain`: bits by enum family that the shard keeps, stale. */
void input_owe_down(struct peer *p, uint8_t retain) RUNS_ON(role_session);
void input_owe_up(struct peer *p) RUNS_ON(role_session);
void input_owe_stale(struct peer_family *f) RUNS_ON(role_session);
/* Hands over what is owed. False: no batch was free. */
bool input_settle(struct speaker *s) RUNS_ON(role_session);
bool peer_owes(const struct peer *p);
void input_init(struct speaker *s);
/* What was not handed over goes back. */
void input_end(struct speaker *s) RUNS_ON(role_session);
/* The open batches go to their shards. */
void input_push(struct speaker *s) RUNS_ON(role_session);
/* The same while there is more to come at once: of several, a shard is not woken for little. */
void input_push_some(struct speaker *s) RUNS_ON(role_session);

/* session_out.c */
int export_up(struct peer *p) RUNS_ON(role_session);
void export_down(struct peer *p) RUNS_ON(role_session);
/* A slice of taking down what ended sessions left. True while there is more. */
bool leftovers_run(struct speaker *s, uint64_t deadline_ns) RUNS_ON(role_session);
/* The configuration changed: how routes are sent to this peer. */
void export_rules(struct peer *p) RUNS_ON(role_session);
/* A slice for one peer. True while there is more that its socket takes. */
bool export_run(struct peer *p, uint64_t deadline_ns) RUNS_ON(role_session);
void export_timers_init(struct peer_family *f);
void pace_init(struct speaker *s);
void refresh_received(struct peer_family *f) RUNS_ON(role_session);
/* Asks the peer for its routes without a job, where the session can. */
void refresh_request(struct peer_family *f) RUNS_ON(role_session);
void refresh_begun(struct peer_family *f) RUNS_ON(role_session);
/* The peer's End-of-RIB: of an answer without BoRR, it is the end. */
void refresh_end_of_rib(struct peer_family *f) RUNS_ON(role_session);
void refresh_ended(struct peer_family *f) RUNS_ON(role_session);

/* session_restart.c */
void restart_init(struct peer_family *f);
/* Families, bits by enum family, that the peer may bring back after a restart. */
uint8_t restart_families(const struct connection *c);
/* Which families keep their routes when the session of `c` ends by that event. */
uint8_t restart_retain(const struct connection *c, enum fsm_event event, const struct note *note);
/* It ended: tells the shard, and waits for the peer. */
void restart_lost(struct connection *c, uint8_t retain) RUNS_ON(role_session);
bool restart_waits(const struct peer *p);
/* Behind input_owe_up(). */
void restart_up(struct connection *c) RUNS_ON(role_session);
void restart_end_of_rib(struct peer_family *f) RUNS_ON(role_session);
/* Nothing is retained any more. */
void restart_forget(struct peer *p) RUNS_ON(role_session);

/* session_limit.c */
void limits_init(struct speaker *s);
void limit_init(struct peer *p);
/* The peer leaves speaker.limit_peers, and has no alarm. */
void limit_forget(struct peer *p);
void limit_config(struct peer *p) RUNS_ON(role_session);
bool limit_changed(const struct config_peer *a, const struct config_peer *b);
/* A session begins; before its first record. */
void limit_up(struct peer *p) RUNS_ON(role_session);
/* The limit changed. */
void limit_again(struct peer *p) RUNS_ON(role_session);
void limit_down(struct peer *p) RUNS_ON(role_session);
/* The limit that `count` prefixes, which are about to be announced to the shards, take along: rib_record.limit. Counts them. */
uint32_t limit_of(struct peer *p, enum family f, unsigned count) RUNS_ON(role_session);
/* An UPDATE of it came. */
void limit_received(struct peer *p) RUNS_ON(role_session);

/* session_faults.c */
struct bgp_update;
/*
 * Records and logs an UPDATE with an error: `msg` is the whole message, `u` what was decoded of it.
 */
void peer_fault_update(struct peer *p, const struct bgp_update *u, const uint8_t *msg, size_t len)
	RUNS_ON(role_session);
/* Records and logs any other message that ends the session. */
void peer_fault_message(struct peer *p, const struct bgp_error *error, const uint8_t *msg,
	size_t len) RUNS_ON(role_session);
/* Before the thread stops or the peer is freed: ends the window of log lines. */
void peer_faults_stop(struct peer *p) RUNS_ON(role_session);
/* After peer_faults_stop(). */
void peer_faults_free(struct peer *p);

/* speaker_config.event_reserve and event_release, where there are any. */
int event_reserve(struct speaker *s, unsigned count);
void event_release(struct speaker *s, unsigned count);
