/* SPDX-License-Identifier: BSD-3-Clause */
/* As rib/table/inspect.h: functions for tests and benchmarks alone. */
#pragma once

#include "rib/policy/policy_build.h"

/* Number of entries for PCRE2: all except expressions about whole AS numbers. */
unsigned policy_as_path_list_expressions(const struct policy_as_path_list *l);
/* policy_community_list_create_kind() and _add_value() for standard communities, in host order. */
int policy_community_list_create(struct policy_community_list **out);
int policy_community_list_add(struct policy_community_list *l, bool permit, uint32_t community);
