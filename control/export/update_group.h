/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Export: peers that are to be told the same share one group, its Adj-RIB-Out (rib/adj_rib_out.h) and its one ordered stream of packed
 * messages; each member copies from where it stands, with its own next hop put in.
 *
 * First dump, live changes, refresh with BoRR and EoRR, End-of-RIB are all of the stream, so nothing overtakes anything. A member that
 * falls behind what is kept of the stream remembers by two bits a destination what it was not told, and tells present state.
 * Nobody's slowness holds back another: live changes wait for no one whose connection is full, a walk for at most a second and half its time.
 * Where tombstones pile up the shards wait for us; who may be evicted is said here, and it is nobody whose connection takes what it is given.
 *
 * Writer: the session thread, which is a RIB reader, for all of this. Policies and rules: update_group_rules.c; RFC 4271 5 and 9.2, 4456,
 * 2545, 8950, 8212, 1997. Frames: RFC 4724 2, 7313 4.
 */
#pragma once

#include "control/bgp/bgp_attr.h"
#include "lpm/base.h"
#include "rib/policy.h"
#include "rib/shards.h"

struct arena;
struct attr_table;
struct update_group;
struct update_groups;
struct update_member;

/* The groups of one session thread. The sizes: 0 is the usual, small ones are for tests: more of the order shows. */
struct update_groups_config {
	struct arena *arena;
	struct shard *shard; /* the only one, or */
	const struct shards *shards; /* all of them, that share a journal */
	struct attr_table *exported; /* of the session thread, which alone reads it */
	unsigned batch; /* changes gathered at once; 1,024 */
	uint32_t kept_max; /* octets of the stream that are kept for slower members; 1 MiB */
	uint64_t
		patience_ns; /* how long, beside half its time, a walk waits for its slowest; 1 s */
	uint64_t
		settle_ns; /* how long a group with different rules waits for all its members to have them; 250 ms */
	uint64_t
		stall_ns; /* how long a connection must have taken nothing before its member may be evicted; 3 s */
};
int update_groups_create(const struct update_groups_config *c, struct update_groups **out);
/* All members have left, and what they left is dismantled. */
void update_groups_destroy(struct update_groups *s);

enum update_kind {
	UPDATE_EXTERNAL,
	UPDATE_INTERNAL,
	UPDATE_CLIENT /* of our route reflector, RFC 4456 */
};

/* What is the same for all members of a group. Those above the line stay as long as the session. */
struct update_rules {
	struct table_id table;
	enum family family;
	enum update_kind kind;
	uint32_t own_as; /* router.asn */
	uint32_t local_as; /* as whom we speak: in front of own_as where it is another */
	uint32_t peer_as;
	struct bgp_encode_options encode; /* extended_next_hop with it */
	/* ---- */
	uint32_t cluster_id; /* RFC 4456 7 */
	const struct policy *policy; /* NULL: none (external: nothing is sent, RFC 8212) */
	struct ip_addr peer; /* what a policy may look at */
	bool next_hop_self, next_hop_unchanged, remove_private_as, as_override, default_originate;
};

struct update_member_config {
	struct peer_id id;
	struct update_rules rules;
	/* Ours towards this peer, for "next hop self". AFI_NONE: we have none of the family; link-local: only for a peer on the same link. */
	struct ip_addr next_hop, next_hop_link_local;
};

/* Joins the group of its rules, or founds it; the first dump is due. 0, -ENOMEM, -ENOSPC. */
int update_group_join(struct update_groups *s, const struct update_member_config *c,
	struct update_member **out) RUNS_ON(role_session);
/* Frees the member. The group when it was the last: the caller dismantles it. Else NULL. */
struct update_group *update_group_leave(struct update_member *m) RUNS_ON(role_session);
/* In slices: a full table takes longer than one. False: `g` is gone. */
bool update_group_dismantle(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session);

/*
 * The plan of a commit that changes import rules of peers, and export rules of groups, of one family. Between begin and end a group whose rules change
 * judges a destination by the rules under which its best path was judged: by the new rules where the path carries a generation that the plan gave since
 * (rib_path_generation()), or where its peer is not of the plan, else by the old rules. Where a commit within the plan changed the rules again, a
 * destination whose best path is older than that commit stays advertised as it was until the end. Destinations that do not change are not
 * evaluated until the end, which makes one walk of differences. Where the plan has several peers, a destination that is advertised, has a usable path
 * and is refused by export policy stays advertised until the end, too, unless its source is gone. Both rules' policies are used until then.
 * begin: before a shard runs the new import rules; now_s: the shards' clock. Again, while a plan runs: joins it.
 */
struct update_plan_part {
	struct peer_id peer;
	enum family family;
};
void update_groups_plan_begin(struct update_groups *s, unsigned generation, uint32_t now_s,
	const struct update_plan_part *parts, unsigned count) RUNS_ON(role_session);
void update_groups_plan_end(struct update_groups *s, enum family family) RUNS_ON(role_session);
/* All members have their new rules: a group whose members differ is split at once. */
void update_groups_settle(struct update_groups *s) RUNS_ON(role_session);

/*
 * Another export policy, or other rules (those below the line): differences are sent. The old policy is not used any more after the
 * last member that had it was given another one.
 */
void update_group_policy(struct update_member *m, const struct policy *p) RUNS_ON(role_session);
void update_group_rules(struct update_member *m, const struct update_rules *r)
	RUNS_ON(role_session);
/*
 * Asks for MARK_SETTLED behind the last of the differences that the policy and rules make which this member has now; with nothing to be
 * told, it comes at once. A serial number: when update_group_settled() has reached it, it was so.
 */
uint32_t update_group_settle(struct update_member *m) RUNS_ON(role_session);
uint32_t update_group_settled(const struct update_member *m);
const struct update_rules *update_group_rules_of(const struct update_member *m);
/*
 * Everything again; framed: BoRR before and EoRR behind it (RFC 7313 4). Those who ask before a walk has looked at anything share it;
 * who asks during a walk gets the next one, which is one for all of them.
 */
void update_group_refresh(struct update_member *m, bool framed) RUNS_ON(role_session);

enum update_group_mark {
	MARK_NONE,
	MARK_END_OF_RIB,
	MARK_BORR,
	MARK_FIRST_ENTRY,
	MARK_EORR,
	MARK_WALK_DONE /* of a refresh, framed or not */,
	MARK_POLICY_DONE,
	MARK_SETTLED /* update_group_settled() has grown */
};
/* The output of a member in one turn. */
struct update_io {
	uint8_t *buf; /* where messages are written; NULL: the output has no room */
	size_t size; /* of `buf`; at least the largest message of the session */
	/* Nothing is sent now (min_advertisement_s), unless shards wait for withdrawals to be read. */
	bool paused;
	/* With `buf` NULL: another family of the peer has filled the output in this turn. False: the peer does not read. */
	bool taken;
	/* Called on this thread for each mark, in the order of the messages. */
	void (*mark)(void *ctx, enum update_group_mark m);
	void *ctx;
};

enum update_turn_state {
	TURN_IDLE, /* nothing is left to send, before `wait_ns` at least */
	TURN_HELD, /* the member has something to send and no output in this turn */
	TURN_MORE, /* the member had the output and has more to send */
	TURN_FAILED, /* the session must end: `error` */
};
struct update_turn {
	enum update_turn_state state;
	/* Another member of the group may have something to do now: every member of the group is due another turn. */
	bool others;
	bool had_output; /* the member had something to send, and `buf`; also if len is 0 */
	bool walked; /* with had_output: the group was sending a whole table */
	size_t len; /* octets of whole messages that were written to `buf` */
	uint64_t wait_ns; /* TURN_IDLE: monotonic time of the next turn without an event; 0: none */
	/* -ENOMEM, -ENOSPC; -ESTALE: the peer did not read, and held back more tombstones than a shard may keep. */
	int error;
};
/*
 * One turn of a member: sends what the group has for the member, and moves the group on while `io` has room, until the deadline. Where several
 * families of a peer have something to send, each has half of the time that is left, and EXPORT_SHARE_NS at least.
 *
 * A member without output falls behind when the oldest message that is kept waits for this member. Where no member of the stream has room, those that
 * are behind go on with the group. A peer that does not read is counted by the time between its turns, 100 ms a turn at most. When that is more than
 * stall_ns while shards wait for withdrawals to be read, the member may be evicted (-ESTALE); and where no other member can go on with the group, this
 * turn does.
 */
struct update_turn update_member_turn(struct update_member *m, const struct update_io *io,
	uint64_t deadline_ns) RUNS_ON(role_session);
#define EXPORT_SHARE_NS 200000u
/* The deadline of one of several members or families: half of the time until `deadline_ns`, at least EXPORT_SHARE_NS from now. */
uint64_t update_share(uint64_t deadline_ns);
/*
 * For this turn: several peers tell their tables. What they say of one destination comes one after the other, so the journal is read with a pause
 * between, and what was replaced meanwhile is told to nobody. The order of what is told, and its end, are the same.
 */
void update_groups_gather(struct update_groups *s, uint64_t now_ns, bool loading)
	RUNS_ON(role_session);
/* Are both members of one group? NULL is in none. */
bool update_group_shared(const struct update_member *a, const struct update_member *b);

uint64_t update_group_advertised(const struct update_member *m);
/* What this member is told of a destination (an id of all shards), its next hop in; NULL: nothing. Good until the next call. */
const struct attr_set *update_group_exported(const struct update_member *m, struct dest_id dest);

struct update_group_stats {
	uint32_t id; /* of the group, never used again; a split makes another one */
	unsigned members, behind; /* behind: those that remember by themselves */
	uint64_t walks; /* dumps and refreshes begun */
	uint64_t policy_walks;
	uint64_t messages, octets; /* packed once for all */
	uint64_t own_messages; /* packed for one that was behind */
	uint64_t fell_behind, evicted, splits;
};
void update_group_stats(const struct update_member *m, struct update_group_stats *out);
