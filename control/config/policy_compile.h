/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiles the policies of a document to programs of rib/policy, and compares the policies of two documents.
 *
 * Owner: main. A policy_set is immutable; any thread may run the policies until policy_set_free().
 */
#pragma once

#include "control/config/config.h"
#include "rib/policy/policy_build.h"

struct policy_set;

/*
 * Compiles `prefix_lists`, `as_path_lists`, the three `…community_lists` and `route_policies` of the document. Faults get pointers from the
 * document's root (`/route_policies/0/nodes/1/match/prefix_list`). NULL with at least one fault. Every set has accept-all and deny-all.
 */
struct policy_set *policy_set_compile(const json_t *document, struct faults *f);
/*
 * As policy_set_compile(), with the policies of files (control/config/policy_text.h). NULL: they have
 * faults, and the result is not complete.
 */
struct policy_text;
/*
 * `like`: an earlier set; equal lists of the document share the compiled lists. NULL: all lists are compiled.
 */
struct policy_set *policy_set_compile_text(const json_t *document, const struct policy_text *text,
	const struct policy_set *like, struct faults *f);
/* The number of compiled lists, without the lists of an earlier set. */
unsigned policy_set_compiled(const struct policy_set *s);
void policy_set_free(struct policy_set *s);
/* NULL: no such policy. */
const struct policy *policy_set_find(const struct policy_set *s, const char *name);
/*
 * True when both sets have the policy `name` with equal nodes and equal lists.
 */
bool policy_set_same(const struct policy_set *a, const struct policy_set *b, const char *name);
/* What keys of a peer add to an import policy. */
struct policy_guard {
	enum { SHUTDOWN_IGNORED, SHUTDOWN_BY_COMMUNITY, SHUTDOWN_ALL } shutdown; /* RFC 8326 */
	const char *blackhole_list; /* a prefix list: what the peer may announce; NULL: no key */
	uint8_t blackhole_min_length;
	uint32_t blackhole_add; /* community */
	uint8_t afi;
};
/*
 * The policy `name` with the additions of `g`, made once for equal additions: routes with
 * BLACKHOLE are accepted or refused before the nodes of the policy (RFC 7999 3.3), and LOCAL_PREF
 * becomes 0 after its nodes (RFC 8326 4). Returns the name by which the set finds the result, lent
 * until policy_set_free(); NULL: no memory. The result itself has the name of the policy.
 */
const char *policy_set_guard(struct policy_set *s, const json_t *document, const char *name,
	const struct policy_guard *g);
/*
 * Exchanges each policy of `next` that equals a policy of `old` for the object of `old`, so that threads that run the policy see no change.
 */
void policy_set_keep(struct policy_set *next, struct policy_set *old);
/*
 * FILE:LINE:COLUMN of node number `node` (policy_verdict.node) of a policy, where the node is of a
 * file, or NULL. Lent.
 */
const char *policy_set_line(const struct policy_set *s, const char *name, uint32_t node);
/* The text of a policy of a file, and its FILE:LINE:COLUMN, lent. NULL: not a policy of a file. */
const char *policy_set_text(const struct policy_set *s, const char *name, const char **line);
/* The names of all policies, NULL-terminated, lent. For `show policy`. */
const char *const *policy_set_names(const struct policy_set *s);
/* "64512:7" or a well-known name (RFC 1997, 7999, 8326 ...), as documents write communities. 0, -EINVAL. */
int policy_community_parse(const char *text, uint32_t *out);
/* The text of a community, in `buf` of POLICY_COMMUNITY_TEXT_MAX octets. */
#define POLICY_COMMUNITY_TEXT_MAX 24
const char *policy_community_text(uint32_t community, char *buf);
/* A community with wildcards: "64512:*", "64512:100-199", "64512:1:peer", "rt:64512:*". False: none. */
bool policy_pattern_parse(
	const char *text, enum policy_communities kind, struct community_pattern *out);
bool policy_pattern_has_peer(const struct community_pattern *p);
/* "1:2:3" (RFC 8092), to network order. 0, -EINVAL. */
int policy_large_community_parse(const char *text, uint8_t out[12]);
/* "rt:64512:1", "soo:192.0.2.1:1", "rt:4200000000:1", or 16 hex digits after 0x (RFC 4360, 5668), to network order. 0, -EINVAL. */
int policy_ext_community_parse(const char *text, uint8_t out[8]);
