/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions for tests and benchmarks alone: they inspect an object or run a part of a module. Each
 * runs on the thread of the owner, unless stated otherwise.
 */
#pragma once

#include "rib/table/attr.h"
#include "rib/table/decision.h"

/* True if `asn` occurs in AS_PATH (loop detection, RFC 4271 9.1.2). */
bool attr_as_path_contains(const struct attr_set *a, uint32_t asn);
/* Memory of the table and its sets. Any thread. */
size_t attr_table_bytes(const struct attr_table *t);
/*
 * Returns < 0 if `a` is preferred, > 0 if `b` is. *reason: the deciding step. MED is compared only
 * within a neighbour AS, so the relation is not transitive; callers rank with decision_order().
 */
int decision_compare(const struct decision_input *a, const struct decision_input *b,
	enum decision_reason *reason);
