/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Structs and functions shared by the files of update groups. Only the session thread uses them.
 *
 *	update_group.c         groups, members, copying the stream into a member's buffer
 *	update_group_tables.c  the groups of a table, and their common place in the journal
 *	update_group_window.c  parts of the journal, read once for all groups of a table
 *	update_group_order.c   when a group may withdraw, and the destinations still to visit
 *	update_group_quick.c   new routes of a window -> messages of the stream
 *	update_group_stream.c  journal and walks -> batches
 *	update_group_batch.c   batches -> messages of the stream
 *	update_group_rules.c   the route of a destination for a group: policy, labels, comparison of offers
 *	update_group_exported.c  the exported attributes: AS_PATH, next hop, further attributes
 *	update_group_behind.c  members behind the stream
 *	update_group_split.c   new rules for some members, or for all
 *	update_group_trace.c   events of traces, and names of changed routes for BMP
 */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "control/export/update_group.h"
#include "lpm/base/arena.h"
#include "rib/table/adj_rib_out.h"
#include "rib/table/role.h"
#include "rib/table/swap.h"
#include "rib/shard/walk.h"

#define BATCH_CHANGES 1024u
/*
 * With several shards, whose entries alternate in large pieces: a batch holds all parts of an UPDATE if it holds a run of the session's input
 * (session_batch.c).
 */
#define BATCH_CHANGES_MAX (4 * BATCH_CHANGES)
#define BATCH_ENTRIES (3 * (BATCH_CHANGES_MAX + 1))
#define BATCH_HASH (4 * BATCH_CHANGES_MAX)
/* A batch is packed without reading the clock. Packing this number of changes, or of octets of attributes, takes well below 1 ms. */
#define BATCH_OCTETS (256u << 10)
#define CONTENT_CACHE (1u << 16)
#define SEEN_BITS 16u
#define BEHIND_ITEMS 512u
#define URGENT_MAX 32u
#define PARTS_MAX 32u
#define LIVE_ENTRIES 64u /* read at once for all groups */
#define BEHIND_LOOKS 32u /* destinations between two reads of the clock */
/* attr_set.unused of an exported set: each member inserts the next hop of its session. */
#define OWN_NEXT_HOP 1u
/* The id of a default route originated by us; no destination has this id. */
#define DEST_DEFAULT ((struct dest_id){DEST_NONE})

/* ---- the stream ---- */

enum message_kind {
	MESSAGE_ALL_BUT, /* for all members except `who`; PEER_SELF: for all */
	MESSAGE_ONLY, /* for `who` */
	MESSAGE_WALK_BUT, /* for the members between begin and end of a walk, except `who` */
	MESSAGE_WALK_BEGIN, /* for the members of walk `walk` */
	MESSAGE_WALK_END, /* likewise */
	MESSAGE_POLICY_END,
	MESSAGE_SETTLED, /* for `who`: all requests up to serial number `walk` are done */
};

/* Resolution of the times of the stream: 0.13 s. 32 bits last for 18 years after the start of the machine. */
#define TICK_SHIFT 27u

static inline uint32_t
tick_of(uint64_t now_ns)
{
	return (uint32_t)(now_ns >> TICK_SHIFT);
}

/* One UPDATE or mark of the stream, a list. Each member stands on the last message passed by the member. */
struct message {
	struct message *next;
	uint64_t passed; /* journal sequence; while a cursor is held here, the ids stay valid */
	uint64_t labels; /* the message waits until swaps_done() has reached this number */
	uint32_t standing; /* members on this message */
	uint32_t walk;
	struct peer_id who;
	uint8_t kind;
	bool withdraw:1;
	bool live:1; /* announces a live change, perhaps among others */
	uint16_t next_hop_at; /* offset for the next hop of the member; 0: none */
	uint16_t len;
	uint32_t id_count;
	uint32_t tick; /* when the message was appended */
	alignas(8) uint8_t data[]; /* ids, then octets */
};

static inline const uint32_t *
message_ids(const struct message *m)
{
	return (const uint32_t *)(const void *)m->data;
}

static inline const uint8_t *
message_octets(const struct message *m)
{
	return m->data + m->id_count * sizeof(uint32_t);
}

/* ---- members ---- */

enum member_state {
	MEMBER_JOINING, /* waits for its initial table, and ignores the stream until then */
	MEMBER_STREAM,
	MEMBER_BEHIND,
};

struct bits {
	uint64_t *word;
	uint32_t words, count;
};

struct update_member {
	struct update_group *group;
	struct update_member *next;
	struct peer_id id;
	uint8_t state;
	int error;
	struct update_rules rules; /* configured; the group adopts them later */
	/* `own`: the newest addresses. The next members are in use, with the length of the rules of the group. */
	struct ip_addr own_next_hop, own_link_local;
	struct ip_addr next_hop, next_hop_link_local;
	uint8_t next_hop_octets[BGP_NEXT_HOP_MAX]; /* the next hop field of messages */
	uint8_t next_hop_len; /* in octets; differs from the length of the group until a split */

	struct message *at; /* MEMBER_STREAM */
	bool full; /* had no output in its last turn */
	uint32_t limit; /* update_group_limit() */
	/* Time of the last turn in which the peer did not read, and the total since stall_end(). */
	uint64_t blocked_ns, spent_ns;
	uint32_t spent_octets; /* read by the peer since stall_end() */
	/* Serial number of the walk that began for the member; 0: no walk. In the group it ends at place `walk_end`; 0: has ended. */
	uint32_t walk;
	uint64_t walk_end;
	bool begun, first_sent, dumping, framed;
	bool asks,
		asks_framed; /* a walk is due after the running walk, or after the initial table */

	/* update_group_settle(): serial numbers requested, put into the stream, and reached by the member. */
	uint32_t settle_asked, settle_put, settled;

	/*
	 * The destinations missed by the member: `tell` to announce, `gone` to withdraw. A member in the stream has `gone` bits alone: the best path of the
	 * destination is now the peer's own, and the earlier route must still be withdrawn. The journal returns to the destination when the withdrawal is
	 * allowed.
	 */
	struct bits tell, gone;
	uint32_t tell_at, gone_at; /* next bit to examine */
	/* In this lap over `tell`: a route could not be made, a route was sent. Then nothing is due until the group makes progress. */
	bool later, lap_sent;
	uint64_t later_since; /* update_group.version at the first such route of the lap */
	uint64_t later_until; /* update_group.version + 1; 0: does not wait */
	/* Destinations of `tell` that come first: live changes. */
	struct dest_id urgent[URGENT_MAX];
	unsigned urgent_count;
	struct journal_cursor *cursor; /* holds the tombstones of `gone` */
	uint32_t behind_tick; /* MEMBER_BEHIND: when the first missed message was appended */
	uint64_t lap_passed; /* journal sequence when the present lap over `gone` began */
	bool owed_begin, owed_end, owed_policy;
	uint32_t owed_settled; /* next value of `settled` */
	/* Laps over `tell`. At end_lap every announcement of the walk has been sent, so the end of the walk may follow. */
	uint32_t laps, end_lap;
};

/* ---- groups ---- */

/* A destination as in NLRI; the distinguisher is 0 in unicast families. */
struct route_key {
	struct vpn_rd rd;
	struct prefix prefix;
};

/* Copies the fields one by one: a load across two stores would stall until the stores, and all stores before, reach the cache. */
static inline void
key_copy(struct route_key *to, const struct dest_view *v)
{
	to->rd = v->rd;
	to->prefix = v->prefix;
}

/*
 * The changes that rules and policy make to a path, named by a number in the Adj-RIB-Out of the group. Numbers survive a change of policy: equal changes
 * of the old and the new policy have one number.
 */
struct edit {
	uint64_t hash; /* of rules and changes; 0: free */
	/* The result depends on nothing that external peers do not receive (exported_likeness()). */
	bool plain;
};
/* Changes without a name, or more than the numbers: two routes with this number may differ. */
#define EDIT_UNNAMED ADJ_EDIT_MAX
#define EDIT_OUTCOMES POLICY_OUTCOMES_MAX

/* The route that a group should advertise for a destination. */
struct offer {
	bool permit; /* false: no route */
	bool kept; /* within a plan: the advertised route stays as is */
	/* Set by offer_compare(): the members have these attributes from this source. */
	bool same;
	bool differs; /* certainly other attributes than the advertised route has */
	uint8_t edit;
	bool by_before; /* made by update_group.before */
	uint32_t label; /* as adj_route.label */
	uint16_t
		made; /* set by offer_compare(): the attributes in the batch; MADE_NONE: not made */
	struct adj_path path;
	/* Input of the attributes; valid until the next evaluation. */
	unsigned sets; /* policy_verdict.sets */
	const struct attr_set *attrs; /* the accepted set */
	const struct attr_set *after; /* the result of policy */
	const struct shard_peer *source;
};
#define MADE_NONE UINT16_MAX

/*
 * One lap after another over the ids serves all who ask: members that want the table, and changed rules, which send differences. A place is the number of the lap
 * and an id (walk_place()). Each who asks at a place is served when the next lap has come to the same id.
 */
struct group_laps {
	struct walk walk;
	uint32_t lap;
	uint64_t until; /* the laps stop at this place */
	uint64_t first_end; /* no update_member.walk_end is before this place */
	uint64_t policy_until; /* the differences are sent up to this place; 0: none are due */
	uint32_t serial; /* of the newest walk of members */
	unsigned waiting, walking; /* members whose walk is due, and whose walk has begun */
	bool turn; /* the laps and the journal take turns */
	bool unsent; /* a plan keeps routes that cannot be sent to the members of a walk now */
	/* A limit has kept routes back; and the lap that announces these after the withdrawals. */
	bool short_of, rest;
	/* The walk of a member ends, and the rest of changed rules begins, when the journal was read up to here. */
	uint64_t end_after;
};

/* How long bulk has waited for members whose output is full. */
struct group_patience {
	uint64_t began_ns, blocked_ns, waited_ns, retry_ns;
	/* While bulk waits for few members: since when, the last check, and the time counted by the checks. */
	uint64_t few_since_ns, few_look_ns, few_ns;
};

/* The place in the journal, and the order of withdrawals (docs/decisions/0002). */
struct group_order {
	/* The next window of the round to take, and its entries up to `taken` are done. */
	unsigned window;
	uint64_t taken;
	/*
	 * Up to `horizon` there are changes of destinations passed over by the group. At `settled` the group had all routes of the stream, so withdrawals of changes up
	 * to there are allowed. `held`: the first waiting change, 0: none. `lap_held`: the first waiting change after the running lap over `owed`.
	 */
	uint64_t horizon, settled, held, lap_held;
	/* Destinations passed over, or with a waiting withdrawal: the group looks at their entries, and not at copies. */
	struct bits owed;
	/* Destinations of entries not taken: the group is behind, and visits the destinations in the order of ids. */
	struct bits dirty;
	uint32_t owed_at, dirty_at;
	uint32_t reach_back; /* with `lapped`: changes of `dirty` up to here are known */
	bool lapped; /* the journal has lapped the reader */
};

/* The numbers of edits. */
struct group_edits {
	struct edit *of; /* by number; [0] is not used */
	unsigned count, size;
	uint32_t pause; /* calls before the next search for free numbers */
	uint64_t rules_hash[2]; /* [by_before]; 0: not computed */
	uint8_t number[2][EDIT_OUTCOMES]; /* [by_before], by outcome of the policy; 0: not known */
};

struct update_group {
	struct update_groups *set;
	struct update_group *next;
	struct update_group *table_next, *table_prev; /* of the groups with the same table */
	struct export_table *reader; /* NULL: in no table */
	uint32_t id;
	struct update_rules rules; /* normalized by rules_normal() */
	bool stays; /* a plan keeps a refused route advertised until the end, or a limit a new route back */
	/* The rules changed within a plan: `before` is used where old import rules accepted the best path. */
	bool planned;
	bool by_before; /* during an evaluation: `rules` and `before` are exchanged */
	struct update_rules before;
	/*
	 * `rules` belong to generation `newest` and to later generations (bits in `after`). mixed: a second commit within the plan changed the rules, so
	 * `before` need not be the rules that advertised paths without a generation.
	 */
	bool mixed;
	uint8_t newest, after;
	bool labels; /* of a VPN family: prefixes have distinguishers and labels */
	uint64_t labels_asked; /* swaps_asked() at the last route with a label of ours */
	struct shards_table table; /* destination ids are ids of all shards */
	struct adj_rib_out *out;
	int error;
	bool left; /* being dismantled */
	bool frozen; /* no destination is evaluated until a split is complete */
	uint64_t rules_due_ns; /* the rules of the members differ: time of the split; 0: equal */
	struct update_group *copy; /* the new group of a split, until the split is complete */
	uint32_t copy_at;

	struct update_member *members;
	unsigned member_count, stream_count, behind_count;
	/* Members in the stream that are not full: these drive the stream. Without such members, the members behind drive the stream. */
	unsigned ready_count;
	uint64_t deferred; /* number of `gone` bits of members in the stream */

	/* The stream: all members have passed `first`; `last` is the newest message. */
	struct message *first, *last;
	struct message *front; /* the furthest place that a member has reached; never NULL */
	uint64_t kept; /* octets after `first` */
	/* Holds the ids after `first`; NULL: no ids, or no free cursor. */
	struct journal_cursor *tail;

	struct group_laps laps;
	struct group_patience patience;
	struct group_order order;
	struct group_edits edit;
	unsigned settling; /* members with a request of update_group_settle() */
	uint64_t version; /* incremented when members may have new messages to send */
	bool bulk; /* the journal has unread bulk entries */
	bool bulk_held; /* and these wait for the members */
	bool paused; /* no member sends now (min_advertisement_s): bulk does not wait for the group */
	struct update_group_stats stats;
};

/* ---- windows: parts of the journal, read once for all groups ---- */

/* A path that is the best path of some destinations of a window, with copies of all that groups read. */
struct window_path {
	struct attr_id accepted; /* id of all shards */
	uint32_t serial;
	struct peer_id peer;
	uint8_t kind; /* enum route_source */
	uint8_t forbidden; /* enum forbidden */
	const struct attr_set *attrs; /* NULL: no set */
	bool known; /* the peer of the path exists: */
	struct shard_peer source;
	uint16_t next; /* path of the same class; WINDOW_NONE: none */
	uint16_t first, last; /* entries, by window_entry.next */
	uint16_t from, end; /* of the order */
	struct adj_record_id record; /* for external peers, with a reference; 0: not known */
};

struct window_entry {
	struct route_key key;
	uint16_t at; /* sequence - window.first */
	struct dest_id dest; /* id of all shards */
	uint32_t sequence; /* dest_view.sequence */
	struct rib_path best;
	uint16_t eligible; /* 0: no route */
	uint16_t path, next;
	uint8_t shard, fib;
	bool bulk, aside;
	bool repeated; /* an earlier entry of the run has the destination */
	bool unread; /* `key` to `path` are not set */
};

/* The beginning of a message with the attributes of a class, as exported by rules without a change by policy. */
struct window_base {
	uint64_t rules; /* rules_key(); 0: none */
	uint32_t at; /* in window.base */
	uint16_t len, size; /* octets in use, and reserved */
	struct update_communities communities;
	uint16_t next_hop_at; /* own next hop; 0: none */
};

/* Paths with equal attributes of one peer: several shards give equal sets different ids. */
struct window_class {
	uint64_t hash;
	struct window_base base;
	uint16_t first, last; /* paths */
	uint16_t from, end; /* of the order */
};

#define WINDOW_NONE UINT16_MAX
#define WINDOW_ENTRIES 512u
#define WINDOW_ENTRIES_MAX BATCH_CHANGES_MAX /* with several shards */
#define WINDOWS 8u /* of a round */
#define WINDOWS_SHARED 4u /* of WINDOW_ENTRIES_MAX */
#define WINDOWS_MAX 16u /* of all tables */
#define WINDOW_ROOM (192u << 10)
#define WINDOW_BASE (64u << 10)
#define WINDOW_NLRI 28u /* octets of a prefix with label and distinguisher, at most */

/*
 * The entries of one table among the journal entries from `first` to `last`, with copies of destinations and attributes: a state of the past.
 */
struct window {
	struct window *next; /* of the windows without use */
	uint64_t first, last;
	uint64_t bulk; /* the first bulk entry; UINT64_MAX: none */
	bool live; /* some entries are not bulk */
	bool labels; /* of the table */
	unsigned count, path_count, class_count, ordered;
	unsigned room_used, base_used;
	struct window_entry *entry;
	struct window_path *path;
	struct window_class *class;
	uint8_t *room; /* attributes */
	uint8_t *base; /* of classes */
	/* Entries whose routes can be advertised without a look at each, by class and path: */
	uint16_t *order;
	struct dest_id *id;
	uint32_t *label; /* as adj_route.label */
	uint32_t *nlri_at; /* offset in `nlri`, and one for the end */
	uint8_t *nlri;
};

struct windows {
	struct window *unused;
	unsigned size; /* entries of a window */
	unsigned count; /* of a round */
	unsigned made; /* windows with memory: at most WINDOWS_MAX */
	uint64_t serial; /* number of windows read */
	struct journal_entry *raw;
	uint16_t *hash; /* paths; classes in the second half */
	bool *done, *added; /* entries; places of the order */
	unsigned idle; /* calls of update_groups_gather() without use */
};

/*
 * One reader of the journal for the groups of a table. The windows of a round are taken by each group. Bulk behind a full round waits for the groups that have not
 * taken the round, with a limit; then these groups fall behind.
 */
struct export_table {
	struct export_table *next;
	struct table_id table;
	struct update_group *groups;
	struct journal_cursor *cursor; /* read up to here */
	struct journal_cursor *hold; /* the tombstones of all groups */
	bool moved; /* `hold` may advance */
	bool released; /* the last group of a waiting round has arrived: all groups of the table are due a turn */
	/* update_groups_news(): an entry that has made the members due once; up to `upto` for all they may read */
	uint64_t newest, upto;
	/* While peers send their tables: the journal is read up to `due`, and again after `rest_ns`. */
	uint64_t due, rest_ns;
	uint64_t run, run_due, run_last; /* number of the last run; its end; the last entry read */
	struct window *window[WINDOWS];
	unsigned count; /* windows of the round */
	unsigned late; /* groups with a window left */
	/* Time of the first read of the round; begin of the wait, 0: none; last arrival. */
	uint64_t round_ns, wait_ns, arrived_ns;
};

/* ---- the batch: made and finished within one call ---- */

struct change {
	struct route_key key;
	uint32_t label; /* of the present route, as adj_route.label */
	bool walk; /* advertise to the members of the walk, even if unchanged */
	bool may_withdraw; /* the order of the journal allows a withdrawal to the new source */
	bool live; /* from a journal entry that is not bulk */
	bool present; /* a route is advertised now, from `source` */
	bool differs; /* true: the attributes differ from `old`; false: not compared yet */
	uint16_t made; /* attributes of the present route */
	struct peer_id source;
	struct dest_id dest;
	struct adj_route old; /* the route before the batch; holds a reference */
};

/* Exported attributes that the batch needs. */
struct made {
	uint64_t hash;
	const struct attr_set *attrs;
};
/* Finds the attributes of a path and edit that are already in the batch. */
struct made_key {
	uint64_t key;
	uint32_t batch;
	uint16_t made;
};
#define MADE_KEYS 1024u
/* Attributes above this size fit no message. */
#define MADE_SIZE_MAX (128u << 10)
#define ROOM_SIZE (BATCH_OCTETS + 2 * MADE_SIZE_MAX)

/* Changes that are packed into the same messages. */
struct bucket {
	uint16_t made; /* MADE_NONE: withdrawals */
	struct peer_id who;
	uint8_t kind;
	uint32_t first, last; /* entries */
};
struct entry {
	uint32_t change, next;
};
#define ENTRY_NONE UINT32_MAX

struct update_groups {
	struct update_groups_config c;
	struct update_group *groups;
	struct export_table *tables; /* with groups, in no order */
	bool released; /* of a table, or of several */
	uint64_t news_head, news_end; /* of the last update_groups_news() */
	/* All groups have passed the journal up to here; the next pass is due at pass_ns, 0: when there are entries. */
	uint64_t passed_end, pass_ns;
	uint32_t last_id;
	struct update_member *by_id[FAMILY_COUNT][PEER_MAX];
	unsigned limited; /* members with a limit */
	struct shards shards;
	struct journal *journal;
	struct policy_eval *eval;
	struct adj_records *records;
	struct update_plan {
		uint16_t peer_count, supplier_count; /* 0: no plan runs */
		uint8_t generations; /* one bit for each generation */
		uint8_t newest; /* generation */
		/* A path of a generation that is older than this time got the generation in an earlier plan. */
		uint32_t began_s[PATH_GENERATIONS + 1];
		uint64_t peers[PEER_MAX / 64], suppliers[PEER_MAX / 64];
		uint64_t lost[PEER_MAX / 64]; /* peers whose session ended during the plan */
	} plan[FAMILY_COUNT];
	struct trace_tap *tap; /* NULL: no trace */
	struct path_ring *changes; /* NULL: no BMP collector wants Adj-RIB-Out */
	/* Of the last evaluation: the rule that refused the best path, and the node of the export policy. `explains`: for an answer, with the node. */
	enum update_refusal why;
	uint32_t node;
	bool explains;
	/*
	 * Live changes for the groups with bulk in front: read up to `upto`; `next` is the next group for the entries. Up to the bulk entry `none` no group has
	 * bulk in front.
	 */
	struct {
		uint64_t upto, none,
			bulk; /* `bulk`: the newest bulk entry at the begin of the pass */
		bool waits; /* a group of the pass has bulk in front */
		struct update_group *next;
		unsigned count;
		struct journal_entry at[LIVE_ENTRIES];
	} news;
	bool live; /* the changes applied now are live */
	uint64_t passed; /* group_passed() before the batch */
	bool loading; /* update_groups_gather() */
	uint64_t now_ns; /* set with `loading`; the time of the messages of the stream */
	/* update_groups_whole(), and its last values in a ring */
	uint64_t whole, part[PARTS_MAX];
	unsigned part_count;

	/* The path of a window that is evaluated; NULL: sets and peers are read from the shards. */
	const struct window_path *from;
	/* Within one call: the result for the last path. Paths of neighbouring destinations mostly share a set. */
	struct path_run {
		const struct update_group *group; /* NULL: none */
		const struct window_path *from;
		struct attr_id accepted;
		struct peer_id peer;
		uint32_t serial;
		enum route_source kind;
		const struct attr_set *attrs; /* NULL: the path must not be advertised */
		bool before; /* by_before of the next members: */
		bool begun; /* the policy has begun with the attributes */
		bool decided; /* `offer` holds for all prefixes */
		enum update_refusal why; /* `offer`, or the path, is refused */
		uint32_t node; /* of the export policy */
		bool swaps; /* `offer` needs a label of ours for each route */
		struct offer offer;
	} told;
	struct peer_id source_peer;
	struct shard_peer source;
	unsigned source_shard;
	bool source_valid, source_known;

	struct windows windows;
	/* Indexed by the low bits of an id: the last destination of a window, as run << SEEN_BITS | id >> SEEN_BITS. */
	uint64_t runs, seen[1u << SEEN_BITS];

	unsigned quick_count; /* routes advertised in this batch without a change of their own */
	unsigned change_count, entry_count, bucket_count, bucket_last;
	uint32_t batch_octets; /* of attributes in `room` */
	uint32_t batch_number;
	unsigned made_count;
	struct made made[BATCH_CHANGES_MAX + 2];
	uint16_t made_hash[BATCH_HASH];
	unsigned hash_mask; /* the hashes of a batch use this part of their arrays */
	struct made_key made_key[MADE_KEYS];
	/* The last path with a record, with a reference. Neighbouring destinations mostly have the same path. */
	struct {
		struct adj_path path;
		struct adj_record_id record; /* 0: none */
	} last;
	uint8_t *room; /* ROOM_SIZE */
	/*
	 * Hashes of exported attributes made before, by path and edit: 24 bits of the key, 40 bits of the hash. A route whose entry is lost may be sent
	 * again without a change, no more.
	 */
	uint64_t *content;
	/* one more: a walk visits the first destination with a default route */
	struct change change[BATCH_CHANGES_MAX + 1];
	struct entry entry[BATCH_ENTRIES];
	struct bucket bucket[BATCH_ENTRIES];
	uint16_t change_hash[BATCH_HASH], bucket_hash[BATCH_HASH];

	/* While a turn of the only member of a group produces: the member and its output. NULL: none. */
	struct update_member *direct;
	struct output *direct_output;

	struct attr_set *scratch[2];
	size_t scratch_size;
	struct attr_set *edited; /* input of policy when rules edit the AS path */
	size_t edited_size;
	/* ATTR_SET_MAX octets: an accepted set, unpacked within one call, with its id of all shards. */
	struct attr_set *accepted;
	struct attr_id accepted_id;
	uint32_t message_id[BGP_EXTENDED_MSG_MAX];
	uint8_t message[BGP_EXTENDED_MSG_MAX + 1];
};

/* The buffer for a member's messages. */
struct output {
	uint8_t *p;
	size_t room;
	uint64_t deadline_ns;
	unsigned until_clock; /* messages to copy before the next read of the clock */
	bool live; /* as update_io.live */
	void (*mark)(void *ctx, enum update_group_mark m);
	void *ctx;
};

static inline void
output_take(struct output *o, size_t len)
{
	o->p += len;
	o->room -= len;
}

/* True if a route of the group is advertised to the member. A route is never advertised to its source. */
static inline bool
member_has(const struct update_member *m, struct adj_route r)
{
	return r.record.v != 0 &&
	       adj_record_path(m->group->set->records, r.record)->source.v != m->id.v;
}

/* A walk of the member waits for its begin: of the initial table, or requested. */
static inline bool
member_waits(const struct update_member *m)
{
	return m->walk == 0 && (m->dumping || m->asks);
}

static inline uint64_t
walk_place(const struct update_group *g)
{
	return (uint64_t)g->laps.lap << 32 | g->laps.walk.next;
}

/* True if members get the table, or the differences of changed rules. */
static inline bool
group_walks(const struct update_group *g)
{
	return g->laps.walking > 0 || g->laps.policy_until != 0;
}

static inline struct peer_id
route_source(const struct update_group *g, struct adj_route r)
{
	return r.record.v != 0 ? adj_record_path(g->set->records, r.record)->source : PEER_SELF;
}

/* update_group.c */
struct update_member *member_find(const struct update_group *g, struct peer_id id);
void member_stand(struct update_member *m, struct message *at);
/* True if a turn of the member would do work now. Cheap. */
bool member_pending(const struct update_member *m) RUNS_ON(role_session);
/* Monotonic time of the next turn without an event; 0: none. */
uint64_t member_wait_ns(const struct update_member *m);
/* 0, or the error for update_turn.error. */
int member_error(struct update_member *m) RUNS_ON(role_session);
/* Writes an UPDATE of the stream into the output of the member, which has room. */
void member_write(struct update_member *m, const struct message *head, const uint8_t *octets,
	struct output *o) RUNS_ON(role_session);
/* Frees the messages passed by all members. */
void stream_trim(struct update_group *g);
/* The member joins or leaves the counts of its group, with its place in the stream. */
void member_link(struct update_member *m, struct update_group *g);
void member_unlink(struct update_member *m);
/* Writes the frame at the beginning (`begin`) or at the end of a walk. False: no room. */
bool member_frame(struct update_member *m, bool begin, struct output *o) RUNS_ON(role_session);
void member_first_sent(struct update_member *m, struct output *o) RUNS_ON(role_session);

/* update_group_exported.c */
/* True if a policy must be run: accept-all is skipped. */
static inline bool
policy_runs(const struct update_rules *r)
{
	return r->policy != NULL && r->policy != policy_accept_all();
}

/* True for the path of an internal peer. A route that an instance learned from an internal site is ours in a VPN family. */
static inline bool
is_internal(enum route_source kind, struct peer_id from)
{
	return kind == SOURCE_INTERNAL && from.v != PEER_SELF.v;
}

/* remove_private_as and as_override, in place. Runs before policy: AS numbers prepended by policy stay. */
void as_path_edit(const struct update_rules *r, struct attr_set *s);
/* RFC 4271 5.1.4, 5.1.5; RFC 4456 8: removes attributes for use within the AS. */
void internal_attrs_strip(struct attr_set *s, unsigned policy_sets, enum route_source kind);
/* True if each member's own address replaces the next hop `a`, the result of policy. */
bool next_hop_is_own(const struct update_group *g, unsigned policy_sets, const struct attr_set *s,
	enum route_source kind, struct peer_id from);
/* Room for sets of `size` octets in both scratch buffers. 0, -ENOMEM. */
int scratch_reserve(struct update_groups *s, size_t size);
/* Completes the result of policy, `after`; *s is the result, in a scratch buffer. 0; -E2BIG: too large for any message. */
int exported_edit(struct update_group *g, unsigned policy_sets, const struct attr_set *after,
	struct attr_set **s, const struct adj_path *path, const struct shard_peer *source);

/* update_group_rules.c */
enum forbidden {
	FORBID_INTERNAL = 1,
	FORBID_EXTERNAL = 2,
	FORBID_OTC = 4,
	FORBID_SITE = 8,
	FORBID_STALE = 16
};
/*
 * RFC 1997: we obey communities received with the route; communities added by export policy are for the peer. RFC 9234 5: OTC. Returns bits of enum forbidden.
 */
unsigned attrs_forbid(const struct attr_set *a);
/* *o: the route that the group should advertise. 0, -ENOMEM. */
int rules_evaluate(
	struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o);
/* As rules_evaluate(), also for a best path outside the table and for attributes outside the sets of a shard. Uses no cache. */
int rules_evaluate_path(struct update_group *g, const struct dest_view *view,
	const struct rib_path *best, const struct attr_set *attrs, struct offer *o);
int rules_default(struct update_group *g, struct offer *o);
/*
 * For an answer to an operator, of a destination with eligible paths: the rule that refuses the best path, EXPORT_PERMITTED without such a rule. *node: of
 * the export policy. Uses no cache, allocates no label, and counts nothing. 0, -ENOMEM.
 */
int rules_explain(struct update_group *g, struct dest_id id, const struct dest_view *view,
	enum update_refusal *why, uint32_t *node);
/* As rules_evaluate(), but the offer has neither a number of its edit nor a new label: for an answer, as rules_explain(). */
int rules_look(
	struct update_group *g, struct dest_id id, const struct dest_view *view, struct offer *o);
/*
 * The exported attributes of an offer that was just evaluated, in a scratch buffer; *hash: their hash. NULL: the attributes fit no message, or no next hop
 * exists; *err: 0, -ENOMEM.
 */
const struct attr_set *offer_content(
	struct update_group *g, const struct offer *o, uint64_t *hash, int *err);
/* Puts the exported attributes of an offer into the batch. False: as offer_content(); the offer then permits no route. */
bool offer_make(struct update_group *g, struct offer *o, int *err);
/* After an evaluation: compares the offer with the advertised route of `id`, and makes the attributes of a changed route. 0, -ENOMEM. */
int offer_compare(struct update_group *g, struct dest_id id, struct offer *o);
/* The record of the path of an offer, with a reference for the caller. 0, -ENOMEM. */
int offer_record(struct update_group *g, const struct offer *o, struct adj_record_id *out);
/* True if members receive equal attributes and labels by both routes. False: differ, or not known. */
bool routes_alike(const struct update_group *g, struct adj_route a, struct adj_route b);
/* True if the hash of the exported attributes of `r` is kept for route_has_content(). */
bool route_content_kept(const struct update_group *g, struct adj_route r);
/* True if `r` has the exported attributes with this hash. False: differs, or not known. */
bool route_has_content(const struct update_group *g, struct adj_route r, uint64_t hash);
/* True if the offer is the route `r` of the group, except for the router id of a reflected route. */
bool offer_is(const struct update_group *g, const struct offer *o, struct adj_route r);
/*
 * Evaluates the advertised route `r` of `id` again, for the exported attributes. False: the attributes cannot be made now, because the destination or the
 * rules have changed since, or for lack of memory.
 */
bool route_again(struct update_group *g, struct dest_id id, struct adj_route r, struct offer *o);
void rules_forget(struct update_group *g);
/* Gives `g` new rules. Within a plan the new rules hold where new import rules accepted the best path; else a policy walk is due. */
void rules_take(struct update_group *g, const struct update_rules *to) RUNS_ON(role_session);
/* Makes `g`, whose routes are advertised by the rules of `from`, a part of the running plan. */
void rules_plan(struct update_group *g, const struct update_group *from);
/* The session of a peer has ended: routes of the peer must not stay advertised for the plan. */
void rules_lost(struct update_groups *s, enum family family, struct peer_id id);
/* Ends the caches of one call: cached pointers are valid until the next quiescent report only. */
void rules_run_end(struct update_groups *s);
/* Clears the fields without an effect, so that rules with equal effects compare equal. */
struct update_rules rules_normal(const struct update_rules *r);
bool rules_equal(const struct update_rules *a, const struct update_rules *b);
/* True if these rules allow no route. */
bool rules_silent(const struct update_rules *r);
/* True if the labels of all routes of `g` are installed. */
static inline bool
labels_installed(const struct update_group *g)
{
	return swaps_done(g->set->c.swaps) >= g->labels_asked;
}

/* True for families with route distinguishers and labels. */
bool rules_labels(const struct update_rules *r);
/* Stores the newest own addresses, if the group has the same length. */
void member_next_hop(struct update_member *m);
uint8_t rules_next_hop_len(const struct update_rules *r, const struct ip_addr *next_hop,
	const struct ip_addr *link_local);

/* False: the group needs a look at each destination of a window. */
bool rules_suit_windows(const struct update_group *g);
/*
 * An offer by a path of a window, which holds for all prefixes without rules of their own. False: each prefix must be evaluated, or the group does not advertise
 * the path. *err: 0, -ENOMEM.
 */
bool rules_evaluate_window(
	struct update_group *g, const struct window_path *p, struct offer *o, int *err);
/*
 * The verdict for a path of a window, where the changes by policy are appended communities, and the path is exported to external peers. False: the verdict needs
 * rules_evaluate_window(). *err: 0, -ENOMEM.
 */
struct window_verdict {
	bool permit;
	uint8_t edit;
	unsigned count; /* of the values */
	const uint8_t *values;
};
bool rules_append_window(
	struct update_group *g, const struct window_path *p, struct window_verdict *v, int *err);
/* A key of the rules that change attributes or octets, without the policy. 0: the octets of a class must not be shared. */
uint64_t rules_key(struct update_group *g);
/* The offer of a path of a window to external peers, without a change by policy. */
struct offer offer_window(const struct window_path *p);
/* The route of an offer, with a reference; the path is `p`, of the same class. 0, -ENOMEM. */
int offer_route(struct update_group *g, struct offer *o, const struct window_path *p,
	struct adj_route *out);
/* The attributes of an offer were put into a message: route_has_content() finds their hash. */
void offer_sent(struct update_group *g, const struct offer *o, uint64_t hash);

/* update_group_tables.c */
/* The group joins or leaves the groups of its table. 0, -ENOMEM, -ENOSPC. */
int table_join(struct update_group *g);
void table_leave(struct update_group *g);
/* True if another group has the same table. */
bool table_shared(const struct update_group *g);
/* The groups read the journal up to here. */
uint64_t groups_end(const struct update_groups *s);
/* True if the journal has an unread entry of the table. */
bool table_unread(const struct update_groups *s, const struct export_table *t);
/* Passes the entries of other tables without reading them. */
void table_pass(struct update_groups *s, struct export_table *t);
/* Releases the tombstones no longer needed by a group of the table. Not while a batch has changes. */
void table_release(struct update_groups *s, struct export_table *t);

/* update_group_window.c */
/* Reads the next window of the table, up to `end`. False: none now; *err as of journal_read(). */
bool window_read_next(struct update_group *g, uint64_t end, int *err);
void window_view(const struct window_entry *e, struct dest_view *out);
/* True if the round is full: other groups should have a turn first. */
bool windows_full(const struct update_group *g);
/* Bulk in front of `g` waits for groups until this time; 0: does not wait. */
uint64_t windows_await_ns(const struct update_group *g);
/* The group has taken the windows of the round, leaves, or needs none. */
void windows_arrive(struct update_group *g);
/* The group does not take the windows of the round: their destinations are dirty. */
void group_fall(struct update_group *g);
/* Frees the windows if they have not been used for some time, or with `all`. */
void windows_tidy(struct update_groups *s, bool all);
/* The round ends now: groups without the windows fall behind. */
void round_end(struct export_table *t);

/* update_group_order.c */
/* All entries up to here were taken, or are dirty. */
uint64_t group_position(const struct update_group *g);
/* Tombstones of changes up to here are not needed by the group. */
uint64_t group_passed(const struct update_group *g);
/* True if no withdrawal would have to wait at this position. */
bool group_settled(const struct update_group *g);
/* The group has nothing to look at, and no withdrawal waits. */
void order_reset(struct update_group *g);
/* The group copies the state of `from`, with the same routes. 0, -ENOMEM. */
int order_copy(struct update_group *g, const struct update_group *from);
/*
 * At the entry `at`, or later, for a destination that the group would withdraw: true if the group may. False: a later entry, or a lap over `owed`, brings
 * the destination again.
 */
bool order_may_withdraw(struct update_group *g, uint64_t at, const struct dest_view *view);
/* In a walk, or for a live change: the group leaves a withdrawal to the last entry of the destination. */
void order_pass_over(struct update_group *g, struct dest_id id, const struct dest_view *view);
/* The next visits of `id` look at the destination. */
void owed_add(struct update_group *g, struct dest_id id);
void owed_clear(struct update_group *g, struct dest_id id);
/* The group has not taken an entry of `id` after `position`. */
void dirty_add(struct update_group *g, struct dest_id id, uint64_t position);
/* The journal has lapped the reader: all destinations with a change after the position of the group are dirty. */
void dirty_all(struct update_group *g);
/* True if waiting withdrawals are allowed now. */
bool owed_due(const struct update_group *g);
/* A slice of a lap over `dirty`, or else over `owed`: `visit` evaluates a destination at an entry of the journal. */
typedef void order_visit(
	struct update_group *g, struct dest_id id, uint64_t at, const struct dest_view *view);
void order_lap(struct update_group *g, uint64_t deadline_ns, order_visit *visit);

/* update_group_quick.c */
/*
 * Advertises new and replaced routes of the window whose entries are after `after` and up to `upto`, and marks their entries in windows.done. The other entries
 * need a look each. Members behind need a change of the batch for each route.
 */
void quick_window(struct update_group *g, struct window *w, uint64_t after, uint64_t upto)
	RUNS_ON(role_session);

/* update_group_trace.c; only with set->tap or set->changes */
/* The group has applied an evaluation of `id`. Ends the caches of the call. */
void trace_change(struct update_group *g, struct dest_id id, const struct route_key *k);
/* Puts the name of a route of the group into set->changes, which is not NULL. `had`: as path_change. */
void change_name(struct update_group *g, const struct route_key *k, uint16_t had);

/* update_group_stream.c */
/* Produces one batch or one mark. False: no work now. */
bool stream_produce(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session);
bool stream_pending(const struct update_group *g);
/* True if no route is advertised, and the rules allow no route: destinations need not be evaluated. When the rules change, a walk over all follows. */
bool group_silent(const struct update_group *g);
/* True if the group need not look at the entry: the best path is unchanged, or an earlier entry of the run has brought all changes. */
bool entry_skips(const struct update_group *g, const struct window_entry *entry);
/* As stream_pending(), without the next walk: the members of the next walk begin the walk. */
bool stream_works(const struct update_group *g);
/* The time of the next read of the journal, if the journal rests, or bulk waits for other groups; 0: none. */
uint64_t stream_rest_ns(const struct update_group *g);
/* True if bulk waits until a member has room, and nothing is to be tried before. */
bool group_is_full(const struct update_group *g);
/* True if the walk waits for the slowest member. */
bool walk_blocked(const struct update_group *g);

/* update_group_batch.c */
/* Appends a message; the fields of the list in `head` are ignored. 0, -ENOMEM. */
int stream_append(struct update_group *g, const struct message *head, const uint32_t *ids,
	const uint8_t *octets) RUNS_ON(role_session);
/* Puts a mark into the stream, also for the members behind. */
void stream_mark(struct update_group *g, enum message_kind kind, struct peer_id who, uint32_t walk)
	RUNS_ON(role_session);
/* True if the batch must be packed before another change. */
bool batch_full(const struct update_groups *s);
/* True if a member has a max_prefixes_out. */
bool group_limited(const struct update_group *g);
/* True if withdrawals of a commit may come: within a plan, and until a policy walk has sent them. */
bool withdrawals_come(const struct update_group *g);
/*
 * Sets the route in Adj-RIB-Out and in the batch. `walk`: also when the route has not changed. `may_withdraw`: the order of the journal allows a
 * withdrawal to the new source.
 */
void change_apply(struct update_group *g, struct dest_id id, const struct route_key *k,
	struct offer *o, bool walk, bool may_withdraw);
/* Sends the advertised route to the members of the walk. False: the attributes cannot be made now. */
bool route_resend(
	struct update_group *g, struct dest_id id, const struct route_key *k, bool may_withdraw);
/* Packs the batch into messages of the stream and empties the batch. `passed`: as in struct message. */
void batch_finish(struct update_group *g, uint64_t passed) RUNS_ON(role_session);
void batch_reset(struct update_groups *s);
/* Puts a route with these attributes, or a withdrawal (MADE_NONE), into a batch for this member alone. */
void batch_put(struct update_member *m, struct dest_id id, const struct route_key *k, uint16_t made,
	uint32_t label);
/* Writes the batch of a member behind into its output, clears the bits of destinations written, and empties the batch. False: no room for all. */
bool batch_write(struct update_member *m, struct bits *b, struct output *o) RUNS_ON(role_session);
/* The second default route of the table, or from default_originate. False: there is none. */
bool default_other(const struct update_group *g, struct dest_id id, const struct route_key *k,
	struct dest_id *other);
bool key_of(const struct update_group *g, struct dest_id id, struct route_key *out);
/* key_pack() in families with labels. */
bool key_pack_label(struct update_packer *u, const struct route_key *k, uint32_t label);
/* Adds an NLRI to a message. False: no room. */
static inline bool
key_pack(struct update_packer *u, const struct route_key *k, uint32_t label)
{
	return u->form.safi == SAFI_UNICAST ? update_packer_add(u, &k->prefix, 0)
					    : key_pack_label(u, k, label);
}
/* Differences are due for all destinations. */
void policy_walk_owe(struct update_group *g);

/* update_group_behind.c */
void behind_begin(struct update_member *m);
bool message_is_for(const struct update_member *m, const struct message *msg);
/* Records the destinations or the mark of a message. The member will not copy the message. */
void message_miss(struct update_member *m, const struct message *msg);
void behind_mark(struct update_member *m, struct dest_id id, bool present);
/* The destination, also marked by behind_mark(), comes before the other destinations of the member. */
void behind_urge(struct update_member *m, struct dest_id id);
void behind_run(struct update_member *m, struct output *o) RUNS_ON(role_session);
bool behind_pending(const struct update_member *m);
/* Moves the cursor of a member without withdrawals, so that the member holds no tombstones of changes up to `passed`. */
void behind_pass(struct update_member *m, uint64_t passed);
/* The peer has read: ends the count of stall_ns. */
void stall_end(struct update_member *m);
/*
 * The peer of `m` did not read. Counts the time. While shards wait for withdrawals to be read, makes a stalled member evictable and drives the group.
 * True: the group has new messages.
 */
bool member_blocked(struct update_member *m, uint64_t deadline_ns) RUNS_ON(role_session);
bool bits_has(const struct bits *b, struct dest_id id);
/* 0, -ENOMEM. */
int bits_set(struct arena *a, struct bits *b, struct dest_id id);
/* Sets all destinations below `limit`, the last of which is set and the highest. DEST_DEFAULT is not set. */
void bits_fill(struct bits *b, uint32_t limit);
bool bits_clear(struct bits *b, struct dest_id id);
/* The first destination from place *at on, with *at set to the next place. False at the end, with *at set to 0. */
bool bits_next(const struct bits *b, uint32_t *at, struct dest_id *id);
void bits_fini(struct arena *a, struct bits *b);

/* update_group_split.c */
bool member_settling(const struct update_member *m);
/* Puts MESSAGE_SETTLED into the stream for each member without further differences. True: a mark was put. */
bool settle_step(struct update_group *g) RUNS_ON(role_session);
bool settle_pending(const struct update_group *g);
/* Call after the rules of a member changed, or a member left. */
void split_settle(struct update_group *g) RUNS_ON(role_session);
/* One step of a split. True: the step did work. */
bool split_run(struct update_group *g) RUNS_ON(role_session);
bool split_pending(const struct update_group *g);
