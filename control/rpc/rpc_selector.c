/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Selectors of rib.routes: a policy of one node over the attributes of a route. Each local user may send a regular
 * expression, so the time for one page is bounded.
 */
#include "control/rpc/rpc_rib_impl.h"

#include "control/config/policy_compile.h"
#include "rib/policy/policy.h"
#include "rib/policy/policy_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURN_NS 20000000u /* the page ends after the present destination */
#define CPU_MAX_NS 200000000u /* the call fails: a destination with many paths */

struct route_selector {
	struct policy *policy;
	struct policy_eval *eval;
	uint64_t begin_ns, begin_cpu_ns; /* of the first match; 0: none */
	bool failed;
};

static uint64_t
cpu_ns(void)
{
	struct timespec t = {0};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* False after rpc_fail(). */
static bool
add_as_path(struct policy_builder *b, const char *regex, struct rpc_call *call)
{
	struct policy_as_path_list *list;
	char error[128] = "out of memory";
	int err;

	if (policy_as_path_list_create(&list) != 0) {
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
		return false;
	}
	err = policy_as_path_list_add(list, true, regex, error, sizeof(error));
	if (err != 0)
		rpc_fail(call, err == -ENOMEM ? RPC_INTERNAL_ERROR : RPC_INVALID_PARAMS, "/as_path",
			"\"%.64s\" is not a regular expression: %s", regex, error);
	else if (policy_as_path_list_seal(list) != 0 ||
		 policy_builder_match_as_path_list(b, list) != 0)
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory"), err = -ENOMEM;
	policy_as_path_list_unref(list);
	return err == 0;
}

/* The kind of a community, with its value in network order; COMMUNITIES_KINDS: not a community. */
static enum policy_communities
community_read(const char *text, uint8_t value[12])
{
	uint32_t standard;

	if (policy_community_parse(text, &standard) == 0) {
		for (unsigned i = 0; i < 4; i++)
			value[i] = (uint8_t)(standard >> (24 - 8 * i));
		return COMMUNITIES_STANDARD;
	}
	if (policy_large_community_parse(text, value) == 0)
		return COMMUNITIES_LARGE;
	return policy_ext_community_parse(text, value) == 0 ? COMMUNITIES_EXTENDED
							    : COMMUNITIES_KINDS;
}

/* False after rpc_fail(). */
static bool
add_community(struct policy_builder *b, const char *text, struct rpc_call *call)
{
	struct policy_community_list *list;
	uint8_t value[12] = {0};
	enum policy_communities kind = community_read(text, value);
	bool done;

	if (kind == COMMUNITIES_KINDS) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/community",
			"\"%.64s\" is not a community, as 64512:7, no-export, 1:2:3 or rt:64512:1",
			text);
		return false;
	}
	if (policy_community_list_create_kind(kind, &list) != 0) {
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
		return false;
	}
	done = policy_community_list_add_value(list, true, value) == 0 &&
	       policy_community_list_seal(list) == 0 &&
	       policy_builder_match_community_list(b, list) == 0;
	if (!done)
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
	policy_community_list_unref(list);
	return done;
}

/* NULL after rpc_fail(). */
static struct route_selector *
selector_create(struct policy_builder *b, struct query *q, struct rpc_call *call)
{
	struct route_selector *s = calloc(1, sizeof(*s));

	if (s == NULL || policy_eval_create(q->env->layers->arena_control, &s->eval) != 0 ||
		policy_builder_finish(b, &s->policy) != 0) {
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
		policy_builder_destroy(b);
		rpc_selector_destroy(s);
		return NULL;
	}
	policy_eval_errors_alone(s->eval);
	return s;
}

bool
rpc_selector_read(struct query *q, json_t *params, struct rpc_call *call)
{
	const char *as_path = NULL, *community = NULL;
	struct policy_builder *b;

	if (!rpc_string(params, "as_path", &as_path, call) ||
		!rpc_string(params, "community", &community, call))
		return false;
	if (as_path == NULL && community == NULL)
		return true;
	if (policy_builder_create("selector", &b) != 0) {
		rpc_fail(call, RPC_INTERNAL_ERROR, "", "out of memory");
		return false;
	}
	if (policy_builder_node(b, 1, true) != 0 ||
		(as_path != NULL && !add_as_path(b, as_path, call)) ||
		(community != NULL && !add_community(b, community, call))) {
		policy_builder_destroy(b);
		return false;
	}
	q->selector = selector_create(b, q, call);
	return q->selector != NULL;
}

bool
rpc_selector_over(const struct query *q)
{
	const struct route_selector *s = q->selector;

	return s != NULL && (s->failed || (s->begin_ns != 0 && now_ns() - s->begin_ns >= TURN_NS));
}

bool
rpc_selector_failed(const struct query *q)
{
	return q->selector != NULL && q->selector->failed;
}

bool
rpc_selector_match(const struct query *q, const struct prefix *p, const struct attr_set *a)
{
	const struct policy_context context = {.family = q->family};
	struct policy_verdict verdict = {.permit = false};
	struct route_selector *s = q->selector;

	if (s == NULL)
		return true;
	if (s->failed)
		return false;
	if (s->begin_ns == 0) {
		s->begin_ns = now_ns();
		s->begin_cpu_ns = cpu_ns();
	}
	if (policy_eval_begin(s->eval, s->policy, a, &context) != 0 ||
		policy_eval_prefix(s->eval, p, &verdict) != 0)
		verdict.permit = false;
	s->failed = policy_eval_match_errors(s->eval) > 0 ||
		    (rpc_selector_over(q) && cpu_ns() - s->begin_cpu_ns >= CPU_MAX_NS);
	return verdict.permit;
}

void
rpc_selector_destroy(struct route_selector *s)
{
	if (s == NULL)
		return;
	if (s->eval != NULL)
		policy_eval_destroy(s->eval);
	if (s->policy != NULL)
		policy_destroy(s->policy);
	free(s);
}
