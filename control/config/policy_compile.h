/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiles the policies of a document to programs of rib/policy, and compares the policies of two documents.
 *
 * Owner: main. A policy_set is immutable; any thread may run the policies until policy_set_free().
 */
#pragma once

#include "control/config/config.h"
#include "rib/policy.h"

struct policy_set;

/*
 * Compiles `prefix_lists`, `as_path_lists`, the three `…community_lists` and `route_policies` of the document. Faults get pointers from the
 * document's root (`/route_policies/0/nodes/1/match/prefix_list`). NULL with at least one fault. Every set has accept-all and deny-all.
 */
struct policy_set *policy_set_compile(const json_t *document, struct faults *f);
void policy_set_free(struct policy_set *s);
/* NULL: no such policy. */
const struct policy *policy_set_find(const struct policy_set *s, const char *name);
/*
 * True when both sets have the policy `name` with equal nodes and equal lists.
 */
bool policy_set_same(const struct policy_set *a, const struct policy_set *b, const char *name);
/*
 * Exchanges each policy of `next` that equals a policy of `old` for the object of `old`, so that threads that run the policy see no change.
 */
void policy_set_keep(struct policy_set *next, struct policy_set *old);
/* The names of all policies, NULL-terminated, lent. For `show policy`. */
const char *const *policy_set_names(const struct policy_set *s);
/* "64512:7" or a well-known name (RFC 1997, 7999, 8326 ...), as documents write communities. 0, -EINVAL. */
int policy_community_parse(const char *text, uint32_t *out);
/* The text of a community, in `buf` of POLICY_COMMUNITY_TEXT_MAX octets. */
#define POLICY_COMMUNITY_TEXT_MAX 24
const char *policy_community_text(uint32_t community, char *buf);
/* "1:2:3" (RFC 8092), to network order. 0, -EINVAL. */
int policy_large_community_parse(const char *text, uint8_t out[12]);
/* "rt:64512:1", "soo:192.0.2.1:1", "rt:4200000000:1", or 16 hex digits after 0x (RFC 4360, 5668), to network order. 0, -EINVAL. */
int policy_ext_community_parse(const char *text, uint8_t out[8]);
