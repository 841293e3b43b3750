/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between policy_compile.c (nodes and policies) and policy_lists.c: the lists of one document while it is compiled. Main only.
 */
#pragma once

#include "control/config/config_impl.h"
#include "control/config/policy_compile.h"
#include "rib/policy/policy_build.h"

enum list_kind {
	LIST_PREFIX,
	LIST_AS_PATH,
	LIST_COMMUNITY,
	LIST_LARGE_COMMUNITY,
	LIST_EXT_COMMUNITY,
	LIST_AS_SET,
	LIST_KINDS
};
extern const char *const policy_list_word[LIST_KINDS];

union list {
	struct policy_prefix_list *prefix;
	struct policy_as_path_list *as_path;
	struct policy_community_list *community; /* all three kinds of communities */
	struct policy_as_set *as_set;
	void *any;
};

struct policy_text;

/* The lists of a kind. */
struct lists {
	union list *list; /* .any NULL: the list has a fault */
	json_t *source; /* array, by place: the list in the document */
	json_t *index; /* name -> place in `list` */
	json_t *meaning; /* array, by place: a string, equal for lists that match the same */
};

struct compile {
	struct check c; /* first: checkers have a pointer to it alone */
	const struct policy_text *text; /* NULL: no policy files */
	bool of_text; /* sections of the policy files are being read */
	struct lists *lists; /* of the set, by kind */
	const struct lists *like; /* of an earlier set; NULL: none */
	unsigned compiled; /* lists, without lists of `like` */
};

void policy_compile_lists(struct compile *k, enum list_kind kind);
void policy_release_lists(struct lists lists[static LIST_KINDS]);

/*
 * A list that matches prefixes of `min_length` or longer inside of what the list `name` permits:
 * the lengths of its entries do not count. Appends the entries to `meaning`. 0, -ENOMEM.
 */
int policy_covering_list(const json_t *document, const char *name, uint8_t afi, uint8_t min_length,
	struct policy_prefix_list **out, json_t *meaning);
void policy_take_action(CONFIG_TAKE_ARGS); /* bool: permit */
void policy_out_of_memory(struct check *c, const struct at *at);

#define POLICY_COMMUNITY_MAX 12
/*
 * A community in network order, the rest zero; or, with *is_pattern, a pattern with wildcards and
 * ranges. False with a fault.
 */
bool policy_value_community(struct check *c, const struct at *at, const json_t *value,
	enum policy_communities kind, uint8_t out[static POLICY_COMMUNITY_MAX],
	struct community_pattern *pattern, bool *is_pattern);
/* A number or a range as `64512-64520`. False: neither. */
bool policy_range_parse(const char *text, uint32_t *low, uint32_t *high);
bool policy_asn_range_take(
	struct check *c, const struct at *at, const json_t *value, uint32_t *low, uint32_t *high);
