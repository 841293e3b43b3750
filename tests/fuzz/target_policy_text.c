/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A policy file, a NUL, and `route_policies` of a document. Invariants: policies or faults, each
 * with a place; the same text gives the same policies; every policy decides routes.
 */
#include "tests/fuzz/targets.h"

#include "control/config/policy_compile.h"
#include "control/config/policy_text.h"
#include "lpm/base/arena.h"

#include <sys/mman.h>
#include <unistd.h>

/* NULL: no memory file. */
static json_t *
document_of(int fd, const char *policies, size_t len)
{
	json_error_t error;
	json_t *list = json_loadb(policies, len, JSON_REJECT_DUPLICATES, &error);
	json_t *document = json_pack("{s:[o], s:[{s:s, s:[{s:s, s:s, s:i}]}]}", "policy_files",
		json_sprintf("/proc/self/fd/%d", fd), "prefix_lists", "name", "ten", "entries",
		"action", "permit", "prefix", "10.0.0.0/8", "le", 32);

	HARNESS_CHECK(document);
	if (list != NULL)
		json_object_set_new(document, "route_policies", list);
	return document;
}

static struct policy_set *
compile(const json_t *document)
{
	struct faults f = {0};
	struct policy_text *t = policy_text_compile(document, NULL, NULL, &f);
	struct policy_set *s;

	HARNESS_CHECK((t != NULL) == (f.count == 0));
	s = policy_set_compile_text(document, t, NULL, &f);
	for (unsigned i = 0; i < f.count; i++) {
		HARNESS_CHECK(f.fault[i].path && f.fault[i].reason);
		HARNESS_CHECK(f.fault[i].path[0] == '/');
	}
	if (f.count > 0) {
		policy_set_free(s);
		s = NULL;
	}
	policy_text_free(t);
	faults_fini(&f);
	return s;
}

/* A route with two AS numbers, a community and a large community. */
static void
decide(struct policy_eval *e, const struct policy *p, const char *text)
{
	static union {
		struct attr_set set;
		uint8_t bytes[256];
	} route;
	static const uint8_t var[] = {2, 2, 0, 0, 0xfb, 0xf0, 0, 0, 0, 174, 0xfc, 0, 0, 7, 0, 0, 0,
		1, 0, 0, 0, 2, 0, 0, 0, 3};
	const struct policy_context context = {.family = FAMILY_IPV4_UNICAST,
		.source = SOURCE_EXTERNAL,
		.peer_asn = 64496,
		.peer_group = policy_group_key("g")};
	struct policy_verdict v;
	struct prefix prefix;

	route.set = (struct attr_set){.as_path_len = 10, .community_count = 1};
	route.set.large_community_count = 1;
	memcpy(route.set.var, var, sizeof(var));
	attr_set_derive(&route.set);
	HARNESS_CHECK(prefix_parse(text, &prefix) == 0);
	HARNESS_CHECK(policy_eval_begin(e, p, &route.set, &context) == 0);
	HARNESS_CHECK(policy_eval_prefix(e, &prefix, &v) == 0);
	HARNESS_CHECK(v.attrs != NULL);
	if (policy_has_digest(p)) {
		struct policy_decision d;

		HARNESS_CHECK(policy_digest_decide(p, policy_eval_digest(e), &prefix, &d));
		HARNESS_CHECK(d.permit == v.permit && d.seq == v.seq && d.outcome == v.outcome);
	}
}

static void
run(const struct policy_set *s, const struct policy_set *again)
{
	static struct arena *arena;
	static struct policy_eval *e;

	if (e == NULL) {
		HARNESS_CHECK(arena_create("fuzz", &arena) == 0);
		HARNESS_CHECK(policy_eval_create(arena, &e) == 0);
	}
	for (const char *const *name = policy_set_names(s); *name != NULL; name++) {
		const struct policy *p = policy_set_find(s, *name);
		const char *line;

		HARNESS_CHECK(p && policy_set_same(s, again, *name));
		(void)policy_set_text(s, *name, &line);
		decide(e, p, "10.1.2.0/24");
		decide(e, p, "192.0.2.0/25");
	}
}

void
target_policy_text(const uint8_t *data, size_t len)
{
	const uint8_t *nul = len > 0 ? memchr(data, 0, len) : NULL;
	size_t first = nul ? (size_t)(nul - data) : len;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct policy_set *s, *again;
	json_t *document;

	HARNESS_CHECK(fd >= 0);
	HARNESS_CHECK(write(fd, data, first) == (ssize_t)first);
	document = document_of(fd, nul ? (const char *)nul + 1 : "", nul ? len - first - 1 : 0);
	s = compile(document);
	again = compile(document);
	HARNESS_CHECK((s == NULL) == (again == NULL));
	if (s != NULL)
		run(s, again);
	policy_set_free(s);
	policy_set_free(again);
	json_decref(document);
	close(fd);
}
