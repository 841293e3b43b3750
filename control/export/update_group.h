/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Export. Peers with equal export rules share an update group: one Adj-RIB-Out (rib/table/adj_rib_out.h) and one ordered stream of packed messages. Each
 * member copies the messages from a place in the stream, and inserts the next hop of its session.
 *
 * Initial table, live changes, BoRR, EoRR and End-of-RIB are all parts of the stream, so their order is fixed. A group keeps a limited part of the stream
 * for slow members. A member behind this part records missed destinations, with two bits a destination, and later advertises the present routes of these
 * destinations. Where no member reads, the group does so itself.
 *
 * A slow peer does not delay other peers: live changes never wait for a full connection; a walk waits for at most patience_ns plus half of the
 * duration of the walk. When a group or a member holds back too many tombstones, the shards wait. Only a member whose peer does not read can then
 * be evicted: the session ends.
 *
 * Writer: the session thread, a RIB reader. Rules and policies: update_group_rules.c; RFC 4271 5 and 9.2, 4456, 2545, 8950, 8212, 1997. End-of-RIB:
 * RFC 4724 2; BoRR and EoRR: RFC 7313 4.
 */
#pragma once

#include "control/bgp/bgp_attr.h"
#include "lpm/base/base.h"
#include "rib/policy/policy.h"
#include "rib/shard/shards.h"

struct arena;
struct adj_records;
struct rt_filter;
struct update_group;
struct trace_tap;
struct update_groups;
struct update_member;

/* The groups of one session thread. A size or time of 0 selects the default; tests choose small sizes. */
struct update_groups_config {
	struct arena *arena;
	struct shard *shard; /* the only shard, where `shards` is NULL */
	const struct shards *shards; /* all shards, with one journal */
	struct adj_records *records; /* advertised paths, of all groups of the session thread */
	struct swaps *swaps; /* labels for VPN routes with our next hop; NULL: none */
	unsigned batch; /* changes in one batch; 1,024, with several shards 4,096 */
	uint32_t kept_max; /* octets of the stream kept for slow members; 1 MiB */
	/* A walk waits for the slowest member for patience_ns plus half of the walk's duration; 1 s. */
	uint64_t patience_ns;
	/* Delay before a group with different rules of its members is split; 250 ms. */
	uint64_t settle_ns;
	/*
	 * Bulk of the journal waits for groups with late receivers, for await_ns after the arrival of the last group; 50 ms.
	 */
	uint64_t await_ns;
	/* A member may be evicted after a peer has read fewer than stall_octets in stall_ns; 64 KiB, 3 s. */
	uint64_t stall_ns;
	uint32_t stall_octets;
};
int update_groups_create(const struct update_groups_config *c, struct update_groups **out);
/* Puts evaluations of destinations into `tap` from now on (rib/shard/trace.h); NULL: ends. Lent until the next call. */
void update_groups_trace(struct update_groups *s, struct trace_tap *tap) RUNS_ON(role_session);
/*
 * Puts the names of changed routes into `ring` from now on, for BMP; NULL: ends. Lent until the next call. A name is the
 * destination (rd, prefix) and the number of the group, as update_group_named() reads it. A peer that moves to another group
 * counts as lost.
 */
struct path_ring;
void update_groups_monitor(struct update_groups *s, struct path_ring *ring) RUNS_ON(role_session);
/*
 * The members of the group of a name: sets their bits in `peers`, and *family and *table. False: no such group any more.
 */
struct path_change;
bool update_group_named(const struct update_groups *s, const struct path_change *name,
	enum family *family, struct table_id *table, uint64_t peers[PEER_WORDS])
	RUNS_ON(role_session);
/* Only after every member has left and every group is dismantled. */
void update_groups_destroy(struct update_groups *s);

enum update_kind {
	UPDATE_EXTERNAL,
	UPDATE_INTERNAL,
	UPDATE_CLIENT /* internal, and our client (RFC 4456) */
};

/* Export rules, equal for all members of a group. The fields above the line are fixed for the life of a session. */
struct update_rules {
	struct table_id table;
	enum family family;
	enum update_kind kind;
	uint32_t own_as; /* router.asn */
	/* Our AS number towards the peer; prepended before own_as when different. */
	uint32_t local_as;
	uint32_t peer_as;
	uint8_t role; /* enum session_role, of this router */
	struct bgp_encode_options encode; /* including extended_next_hop */
	/* ---- */
	/*
	 * Length of the own next hop in messages: 4, 16, 32; in VPN families 12, 24, 48; 0: no own address. Written by update_group_join() and
	 * update_group_next_hop() alone.
	 */
	uint8_t next_hop_len;
	uint32_t cluster_id; /* RFC 4456 7 */
	/* NULL: no policy; an external peer then gets no routes (RFC 8212). */
	const struct policy *policy;
	/*
	 * VPN families: the targets that the peer wants (RFC 4684); NULL: all. Lent until update_groups_filters() does not mark the filter.
	 */
	struct rt_filter *filter;
	struct ip_addr peer; /* input of policies, with peer_as and: */
	uint64_t peer_group; /* policy_group_key() of its group */
	struct ext_community
		site_of_origin; /* routes with this community are not advertised; 0: none */
	/*
	 * In VPN families a label stays with its next hop. A path that these rules give our next hop gets a label of ours, which workers swap (RFC 4364 10 b);
	 * a path that policy gives a third next hop is not advertised. default_originate has no effect there.
	 */
	bool next_hop_self, next_hop_unchanged, remove_private_as, as_override, default_originate;
	bool route_server_client; /* RFC 7947 */
	/*
	 * The zone of the link shared with the peer; 0: none. With next_hop_unchanged a link-local next hop of this link is passed on (RFC 2545 3).
	 */
	uint16_t link;
	bool graceful_shutdown; /* RFC 8326 */
	bool long_lived; /* the peer has the capability for routes with LLGR_STALE (RFC 9494) */
};

struct update_member_config {
	struct peer_id id;
	struct update_rules rules;
	/* Our addresses for next hop self. AFI_NONE: no address of the family. Link-local: only for a peer on the same link. */
	struct ip_addr next_hop, next_hop_link_local;
};

/* Joins the group with the same rules, or creates the group. The initial table is then due. 0, -ENOMEM, -ENOSPC. */
int update_group_join(struct update_groups *s, const struct update_member_config *c,
	struct update_member **out) RUNS_ON(role_session);
/* Frees the member. Returns the group after its last member has left: the caller dismantles the group. Else NULL. */
struct update_group *update_group_leave(struct update_member *m) RUNS_ON(role_session);
/*
 * max_prefixes_out of the member; 0: none. A commit then announces no further route to the group while the member has `limit` routes, and announces the
 * rest after the withdrawals: at no moment does the member have more routes than it has before and after. The caller compares
 * update_group_advertised() with the limit.
 */
void update_group_limit(struct update_member *m, uint32_t limit) RUNS_ON(role_session);
/* Frees the group in slices, until the deadline. True: call again. False: `g` is freed. */
bool update_group_dismantle(struct update_group *g, uint64_t deadline_ns) RUNS_ON(role_session);

/*
 * A plan is the export side of a commit, one plan for each family with new import rules of peers. Until update_groups_plan_end(), a group whose export
 * rules change in the plan keeps old and new rules. The best path of a destination selects the rules for the destination:
 *
 *  - the new rules, where the plan does not contain the peer of the best path, or where the path carries a generation of the plan
 *    (rib_path_generation());
 *  - else the old rules;
 *  - after a second commit within the plan, a path from before the second commit matches neither: the advertised route stays until the end.
 *
 * Destinations without a change are evaluated in a lap at the begin, and again at the end. A route refused by export policy stays
 * advertised while a part that supplies, or a part with a path of the destination that the new import rules have not evaluated, may still give a path
 * that export policy permits; and if the destination has a usable path and the source of the route still exists. The policies of both rules are in
 * use until the end.
 *
 * Begin a plan before any shard runs the new import rules; a second begin joins the running plan. now_s: monotonic seconds, as
 * rib_path.time_s.
 */
struct update_plan_part {
	struct peer_id peer;
	enum family family;
	bool supplies; /* see shard_plan_begin() */
};
void update_groups_plan_begin(struct update_groups *s, unsigned generation, uint32_t now_s,
	const struct update_plan_part *parts, unsigned count) RUNS_ON(role_session);
/* No part supplies any more. */
void update_groups_plan_supplied(struct update_groups *s, enum family family) RUNS_ON(role_session);
void update_groups_plan_end(struct update_groups *s, enum family family) RUNS_ON(role_session);
/* All members have the new rules: splits groups with different members without waiting for settle_ns. */
void update_groups_settle(struct update_groups *s) RUNS_ON(role_session);

/*
 * Changes the export policy, or all rules below the line; the group then sends the differences. The old policy is no longer used after the last member
 * has got a new policy.
 */
void update_group_policy(struct update_member *m, const struct policy *p) RUNS_ON(role_session);
void update_group_rules(struct update_member *m, const struct update_rules *r)
	RUNS_ON(role_session);
/*
 * New own addresses of the member. True: the member needs a refresh, because routes were sent with the old address. A next hop of another length is a
 * new rule: the group sends the differences.
 */
bool update_group_next_hop(struct update_member *m, const struct ip_addr *next_hop,
	const struct ip_addr *link_local) RUNS_ON(role_session);
/*
 * Requests MARK_SETTLED after the last difference made by the present policy and rules of the member; without differences the mark comes at
 * once. Returns a serial number: the request is done when update_group_settled() has reached the number.
 */
uint32_t update_group_settle(struct update_member *m) RUNS_ON(role_session);
uint32_t update_group_settled(const struct update_member *m);
const struct update_rules *update_group_rules_of(const struct update_member *m);
/*
 * Sends the whole table again; framed: between BoRR and EoRR (RFC 7313 4). The members of a group share laps over the table. Requests of one member
 * during its walk share the next walk of the member.
 */
void update_group_refresh(struct update_member *m, bool framed) RUNS_ON(role_session);

enum update_group_mark {
	MARK_NONE,
	MARK_END_OF_RIB, /* end of the initial table */
	MARK_BORR,
	MARK_FIRST_ENTRY, /* the first route of a refresh: a later request needs a further walk */
	MARK_EORR,
	MARK_WALK_DONE, /* end of a refresh, framed or not */
	MARK_POLICY_DONE, /* end of the differences of new rules of the group */
	MARK_SETTLED /* update_group_settled() has grown */
};
/* The output of a member in one turn. */
struct update_io {
	uint8_t *buf; /* where messages are written; NULL: the output has no room */
	size_t size; /* of `buf`; at least the largest message of the session */
	/* Sends the messages of the stream, and reads neither the journal nor a walk. */
	bool live;
	/* Nothing is sent now (min_advertisement_s), unless shards wait for withdrawals to be read. */
	bool paused;
	/* With `buf` NULL. True: a different family of the peer has filled the output in this turn. False: the peer does not read. */
	bool taken;
	/* Called on this thread for each mark, in the order of the messages. */
	void (*mark)(void *ctx, enum update_group_mark m);
	void *ctx;
};

enum update_turn_state {
	TURN_IDLE, /* nothing to send before `wait_ns` */
	TURN_HELD, /* the member has something to send and no output in this turn */
	TURN_MORE, /* the member had the output and has more to send */
	TURN_FAILED, /* the session must end, because of `error` */
};
struct update_turn {
	enum update_turn_state state;
	/* The groups of the table have new messages: their members are due a turn, update_groups_others(). */
	bool others;
	struct table_id table;
	bool had_output; /* the member had routes to send, and `buf`; also if len is 0 */
	/* TURN_MORE: other groups should have a turn first, to use what this turn has read of the journal. */
	bool yields;
	bool walked; /* with had_output: the group was sending a whole table */
	size_t len; /* octets of whole messages in `buf` */
	uint64_t wait_ns; /* TURN_IDLE: monotonic time of the next turn without an event; 0: none */
	/* -ENOMEM, -ENOSPC; -ESTALE: the peer did not read, and the member held more tombstones than a shard may keep. */
	int error;
};
/*
 * One turn of a member: sends messages of the group to the member, and drives the group while `io` has room, until the deadline. When
 * several families of a peer have messages, each family gets half of the remaining time, and at least EXPORT_SHARE_NS.
 *
 * A member without output falls behind when the kept part of the stream is full and the oldest message waits for the member. When no member in the stream
 * has room, the members that are behind or join drive the group.
 *
 * The time in which a peer does not read is counted between turns, at most 100 ms a turn, and starts anew when the peer has read stall_octets. After
 * stall_ns, while shards wait for the group to read withdrawals, the member may be evicted (-ESTALE). While shards wait and no member has output, a turn without output also drives the group.
 */
struct update_turn update_member_turn(struct update_member *m, const struct update_io *io,
	uint64_t deadline_ns) RUNS_ON(role_session);
/* True if a turn of the member would do work now, other than the beginning of a walk for other members. */
bool update_member_pending(const struct update_member *m) RUNS_ON(role_session);
#define EXPORT_SHARE_NS 200000u
/* A deadline for one of several members or families: after half of the time until `deadline_ns`, and after EXPORT_SHARE_NS at least. */
uint64_t update_share(uint64_t deadline_ns);
/*
 * For one turn. loading: several peers are sending their tables, so the best path of a destination changes several times in a short time. The
 * groups then pause between two reads of the journal, and do not send routes replaced during the pause. The order of the messages and the final
 * routes do not change.
 */
void update_groups_gather(struct update_groups *s, uint64_t now_ns, bool loading)
	RUNS_ON(role_session);
/* The groups read the journal up to this sequence. UINT64_MAX: all of the journal. */
void update_groups_whole(struct update_groups *s, uint64_t sequence) RUNS_ON(role_session);
/* A member of this peer is due a turn. */
typedef void update_due(void *ctx, struct peer_id id);
/*
 * Announces live changes to the groups with bulk entries of the journal, or a walk after a lap, in front of the changes. Between two turns; until the
 * deadline, and for one group at least. Calls `due` for the members with new messages: a turn with update_io.live sends the messages. True: more changes, or
 * more groups, are due, as update_groups_live_due() tells.
 */
bool update_groups_live(struct update_groups *s, uint64_t deadline_ns, update_due *due, void *ctx)
	RUNS_ON(role_session);
/* True if live changes were not read, or a pass has not come to all groups. */
bool update_groups_live_due(struct update_groups *s) RUNS_ON(role_session);
/*
 * Once a turn of the thread, after update_groups_gather(): calls `due` for the members whose tables have new entries in the journal, or have ended a round. The
 * groups of other tables pass these entries later. update_groups_pass_ns(): the time of the next call at the latest; 0: none.
 */
void update_groups_news(struct update_groups *s, update_due *due, void *ctx) RUNS_ON(role_session);
uint64_t update_groups_pass_ns(const struct update_groups *s) RUNS_ON(role_session);
/* Calls `due` for the members that a turn with `others` names. */
void update_groups_others(const struct update_groups *s, const struct update_turn *t,
	update_due *due, void *ctx) RUNS_ON(role_session);
/*
 * For swaps_tidy(): messages made before this time have left the streams of the VPN families, and no member behind owes a withdrawal from before. UINT64_MAX: no
 * message waits.
 */
uint64_t update_groups_passed_ns(const struct update_groups *s) RUNS_ON(role_session);
/* Marks the filters that groups and members use (rt_filter.marked). */
void update_groups_filters(struct update_groups *s) RUNS_ON(role_session);
/* Evaluates all routes of the VPN families again, and sends the differences. */
void update_groups_relabel(struct update_groups *s) RUNS_ON(role_session);
/* True if both members are in one group. NULL is in no group. */
bool update_group_shared(const struct update_member *a, const struct update_member *b);

/* For the detection of slow peers. True if routes wait for the output of the member. */
bool update_group_waits(const struct update_member *m) RUNS_ON(role_session);
/*
 * Time since the group made the oldest message that the member has not passed, if a different member has passed this message; else 0. Of a member behind the
 * kept part of the stream: since the first message missed by the member, until the member returns to the stream. Resolution: 0.13 s.
 */
uint64_t update_group_lag_ns(const struct update_member *m, uint64_t now_ns);

uint64_t update_group_advertised(const struct update_member *m);

/* Why a destination is not advertised, in the order of the checks. */
enum update_refusal {
	EXPORT_PERMITTED,
	EXPORT_NO_ROUTE, /* no path is eligible */
	EXPORT_NOT_INSTALLED, /* the forwarding tables have no room */
	EXPORT_NO_POLICY, /* RFC 8212 */
	/* `default_originate` advertises a default route of its own, instead of that of the table */
	EXPORT_OWN_DEFAULT,
	EXPORT_SOURCE, /* the peer announced the best path */
	EXPORT_INTERNAL, /* RFC 4271 9.2, RFC 4456 6: from an internal peer to an internal peer */
	EXPORT_COMMUNITY, /* RFC 1997 */
	EXPORT_ROLE, /* OTC (RFC 9234 5) */
	EXPORT_SITE, /* RFC 4364 7: the site of origin of the peer */
	EXPORT_POLICY, /* refused by a node of the export policy, or by no match */
	EXPORT_MEMBERSHIP, /* no membership of the peer covers a route target (RFC 4684) */
	/* no next hop for this session, attributes that fit no message, or no label of ours */
	EXPORT_NEXT_HOP,
	EXPORT_REFUSALS,
};
/* The state of one destination towards a member, by the present path and rules. */
struct update_fate {
	bool advertised; /* the Adj-RIB-Out has a route for the member */
	/*
	 * EXPORT_PERMITTED without `advertised`, or a refusal with it: the change has not been sent yet. EXPORT_OWN_DEFAULT counts as permitted.
	 */
	enum update_refusal refusal;
	uint32_t node; /* `seq` of the node of the export policy that decided; 0: no node */
	uint32_t group;
	const char *policy; /* lent until the policy of the group changes; NULL: none */
};
/*
 * An RIB reader calls this online. `dest`: an id of all shards, or .v == DEST_NONE. `zero`: the prefix is 0/0 or ::/0, for which a group with
 * `default_originate` advertises a route of its own.
 */
void update_group_fate(const struct update_member *m, struct dest_id dest, bool zero,
	struct update_fate *out) RUNS_ON(role_session);
const char *update_refusal_text(enum update_refusal r); /* "no-route" etc. */
/*
 * The attributes advertised by the member for a destination (an id of all shards), with the member's next hop; made from the present paths: of a
 * destination with an unread change, the attributes that the group advertises next. NULL: not advertised, or withdrawn next. Valid until the next call.
 * *label: of a VPN route; RIB_LABEL_NONE in unicast families.
 */
bool update_group_advertises(const struct update_member *m, struct dest_id dest);
const struct attr_set *update_group_exported(
	const struct update_member *m, struct dest_id dest, uint32_t *label);

struct update_group_stats {
	uint32_t id; /* of the group; never reused, and new for the copy of a split */
	unsigned members, behind; /* behind: members with their own record of missed destinations */
	uint64_t walks; /* laps with initial tables and refreshes */
	uint64_t policy_walks; /* ended */
	uint64_t messages, octets; /* packed once for all members */
	uint64_t own_messages; /* packed for one member behind */
	uint64_t fell_behind, evicted, splits;
	/* Evaluations that refused a path: its label would get a third next hop; no label of ours was free. */
	uint64_t foreign_labels, no_labels;
	uint64_t lapped; /* the journal lapped the reader: all changed destinations were visited */
	uint64_t windows; /* parts of the journal copied, by all groups of the thread */
};
void update_group_stats(const struct update_member *m, struct update_group_stats *out);
