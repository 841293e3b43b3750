/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of update groups share. All of it is the session thread's.
 *
 *	update_group.c         groups, members, the way from the stream into a member's buffer
 *	update_group_stream.c  journal and walks -> batches -> messages of the stream
 *	update_group_rules.c   what a destination is to a group: policy, attributes, next hop
 *	update_group_behind.c  members that fell behind
 *	update_group_split.c   other rules for some members, or for all
 */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "control/export/update_group.h"
#include "lpm/arena.h"
#include "rib/adj_rib_out.h"
#include "rib/walk.h"

#define BATCH_CHANGES 1024u
#define BATCH_ENTRIES (3 * (BATCH_CHANGES + 1))
#define BATCH_HASH (4 * BATCH_CHANGES)
/* A batch is packed without a look at the clock: this many octets of attributes, or so many changes, are well below 1 ms. */
#define BATCH_OCTETS (256u << 10)
#define OUTCOME_CACHE 1024u
#define SEEN_BITS 16u
#define BEHIND_ITEMS 512u
#define BEHIND_LOOKS 32u /* destinations between two looks at the clock */
/* attr_set.unused of an exported set: each member puts in its own next hop */
#define OWN_NEXT_HOP 1u
/* The id under which a default route is kept that we make up: no destination's. */
#define DEST_DEFAULT ((struct dest_id){DEST_NONE})

/* ---- the stream ---- */

enum message_kind {
	MESSAGE_ALL_BUT, /* `who`; PEER_SELF: nobody */
	MESSAGE_ONLY,
	MESSAGE_WALK_BUT, /* of those whom the walk is for */
	MESSAGE_WALK_BEGIN, /* `who` alone, or all of the walk */
	MESSAGE_WALK_END,
	MESSAGE_POLICY_END,
	MESSAGE_SETTLED, /* `who` has what it asked for, up to `walk` */
};

/* One UPDATE, or a mark. A list; a member stands on the last one that it passed. */
struct message {
	struct message *next;
	uint64_t passed; /* of the journal: ids of destinations are good while nobody passes it */
	uint32_t standing; /* members on this one */
	uint32_t walk;
	struct peer_id who;
	uint8_t kind;
	bool withdraw;
	uint16_t next_hop_at; /* 0: nothing to put in */
	uint16_t len;
	uint32_t id_count;
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
	MEMBER_JOINING, /* waits for its dump: nothing of the stream is for it */
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
	struct update_rules rules; /* what it is to have */
	struct ip_addr next_hop, next_hop_link_local;
	uint8_t next_hop_octets[32];

	struct message *at; /* MEMBER_STREAM */
	bool full; /* had no output in its last turn */
	/* The last turn in which the peer did not read, and how long in all since the output last had room or the peer had everything. */
	uint64_t blocked_ns, spent_ns;
	/* The walk that it is to take, or takes; 0: none. */
	uint32_t walk;
	bool begun, first_told, dumping, framed;
	bool again, again_framed; /* asked for another one meanwhile */

	/* update_group_settle(): asked for, put into the stream, and come to the end of it. Serial numbers. */
	uint32_t settle_asked, settle_put, settled;

	/*
	 * What it was not told. Of a member in the stream only `gone`: routes that became its own while the order of the journal did not
	 * allow to take back what it was told before; the journal comes back to these.
	 */
	struct bits tell, gone;
	uint32_t tell_at, gone_at; /* where to look next */
	struct journal_cursor *cursor; /* holds what `gone` names */
	uint64_t lap_passed; /* of the journal when `gone` was begun from the start */
	bool owed_begin, owed_end, owed_policy;
	uint32_t owed_settled; /* what `settled` is to become */
	uint32_t laps, end_lap; /* the walk's end goes out when all that it told was */
};

/* ---- groups ---- */

enum catch_up { CATCH_UP_NONE, CATCH_UP_ANNOUNCE, CATCH_UP_READ, CATCH_UP_WITHDRAW };
enum walk_kind { WALK_NONE, WALK_SEND, WALK_POLICY };

/* What policy and rules made of an accepted set; holds a reference on `exported` (0: nothing is sent). */
struct outcome {
	struct attr_id accepted;
	uint32_t serial;
	uint16_t slot; /* policy_verdict.outcome */
	uint8_t kind; /* enum route_source */
	bool used;
	bool before; /* by update_group.before */
	uint32_t originator; /* of what is reflected; a peer may come back as another */
	struct attr_id exported;
};

struct update_group {
	struct update_groups *set;
	struct update_group *next;
	uint32_t id;
	struct update_rules rules; /* peer_as, peer: only where they matter */
	/* Of a plan: the rules changed, and destinations whose best path the old import rules judged go by `before`. */
	bool stays; /* of a plan: something is advertised that the rules refuse for now */
	bool planned,
		by_before; /* by_before: within an evaluation, `rules` and `before` have changed places */
	struct update_rules before;
	/*
	 * `rules` are those of generation `newest` and later ones (bits `after`). mixed: the rules changed again, with another generation; so `before` is not
	 * what paths without a generation were advertised by.
	 */
	bool mixed;
	uint8_t newest, after;
	uint8_t next_hop_len; /* of "self": 4, 16, 32; 0: the members have none of the family */
	struct shards_table table; /* ids of destinations are those of all shards */
	struct adj_rib_out *out;
	struct journal_cursor *cursor;
	int error;
	bool left; /* being dismantled */
	bool frozen; /* no policy is looked at until a split is done */
	uint64_t rules_due_ns; /* members differ: until then the others may follow */
	struct update_group *copy; /* of a split, until it is complete */
	uint32_t copy_at;

	struct update_member *members;
	unsigned member_count, stream_count, behind_count;
	/* Those in the stream that are not full: they go on with it. Without any, those behind do. */
	unsigned ready_count;
	uint64_t deferred; /* bits `gone` of members in the stream */

	/* the stream; `first` is passed by all, `last` is the newest */
	struct message *first, *last;
	uint64_t kept; /* octets behind `first` */
	struct journal_cursor
		*tail; /* holds the ids behind `first`; NULL: none, or could not be had */

	/* the walk that runs, and those owed */
	enum walk_kind kind;
	struct walk walk;
	uint32_t serial; /* of the newest WALK_SEND */
	unsigned waiting; /* members that are to take the next one */
	unsigned settling; /* members that asked, and were not answered yet */
	uint64_t version; /* raised when members may have something to do that they had not */
	bool default_due; /* the first that a walk looks at; until then others may join it */
	bool walk_turn; /* the next batch is the walk's, so that neither starves */
	bool policy_within; /* a WALK_SEND does what a policy walk was owed for */
	uint32_t policy_end; /* a walk that sends differences is owed over ids below this */
	uint64_t walk_began_ns, blocked_ns, waited_ns, retry_ns;

	/* Behind a lapped journal: the steps of rib/journal.h. Withdrawals up to `upto` come last. */
	enum catch_up catch_up;
	struct walk catch_up_walk;
	uint32_t reach_back, upto;

	/* While tables are told: the journal is read up to `due`, and next after `rest_ns`. */
	uint64_t due, rest_ns;
	uint64_t run; /* up to `due`: of update_groups.runs */

	struct update_group_stats stats;
	struct outcome cache[OUTCOME_CACHE];
};

/* ---- the batch: one at a time, done within one call ---- */

struct change {
	struct prefix prefix;
	bool walk; /* to all whom the walk is for, also if it is as it was */
	bool may_withdraw; /* its new source may be told that what others told is gone */
	bool again; /* to all, also if it is as it was */
	struct dest_id dest;
	struct adj_pair_id old; /* before the batch; with a reference */
};
static_assert(sizeof(struct change) == 32, "two a cache line");

/* What goes into the same messages. */
struct bucket {
	struct attr_id set; /* 0: withdrawals */
	struct peer_id who;
	uint8_t kind;
	uint32_t first, last; /* entries */
};
struct entry {
	uint32_t change, next;
};
#define ENTRY_NONE UINT32_MAX

struct behind_item {
	uint32_t set, id;
};

struct update_groups {
	struct update_groups_config c;
	struct update_group *groups;
	uint32_t last_id;
	struct update_member *by_id[FAMILY_COUNT][PEER_MAX];
	struct shards shards;
	struct journal *journal;
	struct policy_eval *eval;
	struct update_plan {
		uint16_t peer_count; /* 0: none runs */
		uint8_t generations; /* bit by generation */
		uint8_t newest; /* generation */
		uint32_t
			began_s[PATH_GENERATIONS +
				1]; /* a path with that generation and an earlier time has it from a plan that is over */
		uint64_t peers[PEER_MAX / 64];
		uint64_t lost[PEER_MAX / 64]; /* their session ended during the plan */
	} plan[FAMILY_COUNT];
	bool policy_refused; /* of one evaluation: export policy refused the best path */
	bool loading; /* update_groups_gather() */
	uint64_t now_ns; /* with it */

	/* of one call: eval_begin() was done for this */
	const struct update_group *run_group;
	struct attr_id run_set;
	enum route_source run_kind;
	bool run_valid, run_before;
	/* of one call: neighbours mostly share their set, so what was found out about the last one is not looked up again */
	struct told_run {
		const struct update_group *group; /* NULL: none */
		struct attr_id accepted;
		struct peer_id peer;
		uint32_t serial;
		enum route_source kind;
		const struct attr_set *attrs; /* NULL: it may not be told */
	} told;
	struct peer_id source_peer;
	struct shard_peer source;
	bool source_valid, source_known;

	/* By the id's low bits: what was taken last of these, as run << SEEN_BITS | id >> SEEN_BITS. */
	uint64_t runs, seen[1u << SEEN_BITS];

	unsigned change_count, entry_count, bucket_count;
	uint32_t batch_octets;
	struct attr_id batch_last; /* of the octets */
	struct change
		change[BATCH_CHANGES + 1]; /* one more for a default route that is told again */
	struct entry entry[BATCH_ENTRIES];
	struct bucket bucket[BATCH_ENTRIES];
	uint16_t change_hash[BATCH_HASH], bucket_hash[BATCH_HASH];
	struct behind_item item[BEHIND_ITEMS];

	struct attr_set *scratch[2];
	size_t scratch_size;
	struct attr_set *edited; /* what policy is given where rules edit the AS path first */
	size_t edited_size;
	uint32_t message_id[BGP_EXTENDED_MSG_MAX];
	uint8_t message[BGP_EXTENDED_MSG_MAX + 1];
};

/* Where a member's messages go. */
struct output {
	uint8_t *p;
	size_t room;
	uint64_t deadline_ns;
	unsigned until_clock; /* messages to copy before it is looked at again */
	void (*mark)(void *ctx, enum update_group_mark m);
	void *ctx;
};

static inline void
output_take(struct output *o, size_t len)
{
	o->p += len;
	o->room -= len;
}

/* What a member sees of a route: its own is nothing to it. */
static inline struct attr_id
member_view(const struct update_member *m, struct adj_route r)
{
	return r.source.v == m->id.v ? (struct attr_id){0} : r.set;
}

/* update_group.c */
struct update_member *member_find(const struct update_group *g, struct peer_id id);
void member_stand(struct update_member *m, struct message *at);
/* Something can be done for the member now. Cheap. */
bool member_pending(const struct update_member *m) RUNS_ON(role_session);
/* Monotonic time of the next turn though nothing is pending; 0: none. */
uint64_t member_wait_ns(const struct update_member *m);
/* 0, or why the member cannot go on: update_turn.error. */
int member_error(struct update_member *m) RUNS_ON(role_session);
/* Moves on what all have passed. */
void stream_trim(struct update_group *g);
/* Its dump begins: from here on the stream is for it. */
void member_enter(struct update_member *m);
/* `begin`: BoRR, else the end of a walk. False: no room. */
bool member_frame(struct update_member *m, bool begin, struct output *o) RUNS_ON(role_session);
void member_first_told(struct update_member *m, struct output *o) RUNS_ON(role_session);

/* update_group_rules.c */
/* *r: what the group is to have, the set with a reference; .set 0: nothing. 0, -ENOMEM. */
int rules_evaluate(struct update_group *g, struct dest_id id, const struct dest_view *view,
	struct adj_route *r);
/*
 * The same with a best path that may not be in the table yet: `best` names its peer, or the source of our own. `attrs` need not be a set of a shard:
 * no cache is used.
 */
int rules_evaluate_path(struct update_group *g, const struct dest_view *view,
	const struct rib_path *best, const struct attr_set *attrs, struct adj_route *r);
int rules_default(struct update_group *g, struct adj_route *r);
void rules_forget(struct update_group *g);
/* `g` goes by `to` from here on: within a plan, for what is judged by it; else a walk of differences is owed. */
void rules_take(struct update_group *g, const struct update_rules *to) RUNS_ON(role_session);
/* A plan runs: `g`, which had the rules of `from`, is a part of it from here on. */
void rules_plan(struct update_group *g, const struct update_group *from);
/* The session of a peer ends: what it announced does not come back within the plan. */
void rules_lost(struct update_groups *s, enum family family, struct peer_id id);
/* What was found out about peers and runs of sets was lent until the last quiescent report. */
void rules_run_end(struct update_groups *s);
/* With what does not matter left out, so that equal ones compare equal. */
struct update_rules rules_normal(const struct update_rules *r);
bool rules_equal(const struct update_rules *a, const struct update_rules *b);
/* By them nothing is told, whatever there is. */
bool rules_silent(const struct update_rules *r);
uint8_t rules_next_hop_len(const struct update_rules *r, const struct ip_addr *next_hop,
	const struct ip_addr *link_local);

/* update_group_stream.c */
/* One batch, or a mark. False: there is nothing to be done now. */
bool stream_produce(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session);
bool stream_pending(const struct update_group *g);
/* When the journal is read again, of one that rests; else 0. */
uint64_t stream_rest_ns(const struct update_group *g);
/* A mark in the stream, for those behind, too. `who` as with MESSAGE_WALK_BEGIN. */
void stream_mark(struct update_group *g, enum message_kind kind, struct peer_id who);
/* MESSAGE_SETTLED for this member. */
void stream_settled(struct update_group *g, const struct update_member *m);
/* A walk waits for its slowest member. */
bool walk_blocked(const struct update_group *g);
void batch_reset(struct update_groups *s);
/* Another destination of the same prefix 0/0 is told: a withdrawal would take that away. */
bool default_shadowed(const struct update_group *g, struct dest_id id, const struct prefix *p,
	struct dest_id *other);
bool prefix_of(const struct update_group *g, struct dest_id id, struct prefix *out);
void policy_walk_owe(struct update_group *g);

/* update_group_behind.c */
void behind_begin(struct update_member *m);
bool message_is_for(const struct update_member *m, const struct message *msg);
/* A message that it will not copy any more. */
void message_miss(struct update_member *m, const struct message *msg);
void behind_mark(struct update_member *m, struct dest_id id, bool present);
void behind_run(struct update_member *m, struct output *o) RUNS_ON(role_session);
bool behind_pending(const struct update_member *m);
/* Who has nothing to take back holds nothing. */
void behind_pass(struct update_member *m);
/* The peer has read. */
void stall_end(struct update_member *m);
/*
 * The peer of `m` did not read. Counts the time, and acts on it while shards wait for withdrawals to be read. True: the group went on, so its members
 * may have something to do.
 */
bool member_blocked(struct update_member *m, uint64_t deadline_ns) RUNS_ON(role_session);
bool bits_has(const struct bits *b, struct dest_id id);
/* 0, -ENOMEM. */
int bits_set(struct arena *a, struct bits *b, struct dest_id id);
bool bits_clear(struct bits *b, struct dest_id id);
void bits_fini(struct arena *a, struct bits *b);

/* update_group_split.c */
bool member_settling(const struct update_member *m);
/* Answers those who can be. True: somebody was. */
bool settle_step(struct update_group *g) RUNS_ON(role_session);
bool settle_pending(const struct update_group *g);
/* After some member's rules changed, or one left. */
void split_settle(struct update_group *g) RUNS_ON(role_session);
/* True: something was done. */
bool split_run(struct update_group *g) RUNS_ON(role_session);
bool split_pending(const struct update_group *g);
