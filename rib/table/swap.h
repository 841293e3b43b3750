/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labels for VPN routes that leave with our next hop (RFC 4364 10 b). Such a route needs a label of
 * this router, and the fib thread swaps this label for the label of the edge. One label stands for
 * one pair (next hop, received label): the pair alone decides where a packet goes. Prefixes that
 * share the pair share the label, and a new best path with the same pair keeps the label.
 *
 * A label begins as an order to the fib thread. Messages with the label wait until the order was
 * answered (swaps_asked(), swaps_done()). The records of the Adj-RIB-Out hold references
 * (rib/table/adj_rib_out.h). A label without a reference waits until its withdrawals have left all
 * streams, rests with its action in place, and is then removed and free again.
 *
 * The rest takes SWAP_REST_NS and the longest restart time in use (swaps_restart_time()): a router
 * that misses the withdrawal, because its session has ended, uses a stale route with the label for
 * the restart time (RFC 4724 4.2).
 *
 * An owner, a peer from which the routes come, may have as many labels as are free, resting ones
 * included: one owner takes at most half of all, a second one half of the rest. A label for routes of
 * several owners counts for the owner of the last evaluation, so it follows a best path that moves.
 * The labels of a peer that has gone count for its address until their rest is over. All peers of
 * listen ranges with one group are one owner, because a stranger chooses how many they are.
 *
 * Each start uses a different part of the range at first, because remote routers may still have
 * labels of the previous process.
 *
 * Owner: the session thread; swaps_figures() is for any thread. Times are monotonic.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

struct arena;
struct swaps;

#define SWAP_REST_NS UINT64_C(60000000000)
#define SWAP_LEAST 64u /* labels that any owner may have while one is free */

/* Labels beginning with `from`; the first label of swaps_config follows the last one. */
struct swap_window {
	uint32_t from, count;
};
struct swaps_config {
	struct arena *arena;
	uint32_t first, last; /* labels that any process with this state directory uses */
	/*
	 * Labels that no recent process had, for use until `all_ns` and the longest restart time;
	 * then those of `all`.
	 */
	struct swap_window fresh, all;
	uint64_t all_ns;
};

/* 0, -ENOMEM. */
int swaps_create(const struct swaps_config *c, struct swaps **out);
void swaps_destroy(struct swaps *s);

/*
 * A restart time in use (RFC 4724 3): ours, or the one of a peer, which can be a route reflector
 * whose peers keep our routes. The longest one counts for the life of the process.
 */
void swaps_restart_time(struct swaps *s, uint32_t restart_s);

/* Whose share a label is counted to. */
struct swap_owner {
	bool dynamic; /* true: `group` is the owner, otherwise `addr` */
	uint64_t group; /* policy_group_key() */
	struct ip_addr addr; /* of the peer */
};

/*
 * The label for a pair, allocated if needed. 0: the route cannot be advertised now, because no label
 * is free for the owner, memory is short, or the fib thread failed to install the label.
 * swaps_tidy() reports when such routes should be evaluated again. A label without swaps_hold() is
 * released later.
 */
uint32_t swaps_label(struct swaps *s, const struct swap_owner *owner,
	const struct ip_addr *next_hop, uint32_t received);
/* As swaps_label(), without an allocation. */
uint32_t swaps_find(const struct swaps *s, const struct ip_addr *next_hop, uint32_t received);
/* A reference of a label of swaps_label(). */
void swaps_hold(struct swaps *s, uint32_t label);
void swaps_drop(struct swaps *s, uint32_t label);

/* The number of orders for labels so far, and of their answers. Equal: all labels are installed. NULL: 0. */
uint64_t swaps_asked(const struct swaps *s);
uint64_t swaps_done(const struct swaps *s);

/* An order to the fib thread. */
struct swap_order {
	uint32_t label;
	uint32_t received; /* implicit null (3): the label is popped */
	struct ip_addr next_hop; /* in the default VRF */
	bool present; /* false: the label is removed */
	int result; /* the answer; never an error for a removal */
};
/* Moves up to `max` orders into `out`, in order. Returns their number. */
unsigned swaps_orders(struct swaps *s, struct swap_order *out, unsigned max) RUNS_ON(role_session);
/*
 * The answers, in the order of the orders. True: a label failed for the first time, so swaps_tidy()
 * should follow at once: routes with the label are withdrawn.
 */
bool swaps_answer(struct swaps *s, const struct swap_order *order, unsigned count)
	RUNS_ON(role_session);
/*
 * A bounded step, about each second. Messages made before `passed_ns` have left all streams.
 * True: routes refused for want of a label should be evaluated again.
 */
bool swaps_tidy(struct swaps *s, uint64_t now_ns, uint64_t passed_ns) RUNS_ON(role_session);

struct swaps_figures {
	uint32_t in_use; /* labels with an action, resting labels included */
	uint32_t resting; /* labels without routes */
	uint32_t failed; /* labels that the fib thread could not install */
	bool full; /* routes are not advertised, because no label is free for their owner */
};
void swaps_figures(const struct swaps *s, struct swaps_figures *out);

struct swap_share {
	struct swap_owner owner; /* .addr: of the peer that asked last */
	uint32_t labels; /* resting labels included */
	uint64_t
		refused; /* evaluations without a label, since the owner has labels or wants some */
	bool wants; /* routes wait for labels */
};
/* False, and zeros: the owner has no label and wants none. NULL: the same. */
bool swaps_owner(struct swaps *s, const struct swap_owner *owner, struct swap_share *out)
	RUNS_ON(role_session);
/*
 * The number of owners that want labels; if there is one, that with the most labels, and the owner
 * with the most labels of all.
 */
unsigned swaps_wanting(struct swaps *s, struct swap_share *wanting, struct swap_share *most)
	RUNS_ON(role_session);
