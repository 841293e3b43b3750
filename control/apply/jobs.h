/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: what takes longer than an answer (a refresh, an audit). Writer: main. The last 1,000 ended ones are kept.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jobs;

struct jobs *jobs_create(void);
void jobs_destroy(struct jobs *j);
/* `kind`: "refresh-import", "refresh-export", "audit". Ids are integers from 1. `total` 0: unknown. 0 is no job. */
uint32_t jobs_begin(struct jobs *j, const char *kind, uint64_t total);
/* `done` is added to; a job that reaches its total ends by itself, failed when a part of it did. */
void jobs_advance(struct jobs *j, uint32_t id, uint64_t done);
/* How far the work of a running job is; `done` never ends it. */
void jobs_progress(struct jobs *j, uint32_t id, uint64_t done, uint64_t total);
/* One of its parts came to nothing, for this reason (a literal); the others go on. */
void jobs_fail_part(struct jobs *j, uint32_t id, const char *reason);
/* Nothing ran after all: it never was. */
void jobs_forget(struct jobs *j, uint32_t id);
/* Ends it. `result` is taken over (may be NULL). */
void jobs_end(struct jobs *j, uint32_t id, bool failed, json_t *result);
/* NULL: no such job. */
const char *jobs_kind(const struct jobs *j, uint32_t id);
/* {id, kind, state, done, total, started_s, finished_s, result}; NULL: no such job. A new reference. */
json_t *jobs_get(const struct jobs *j, uint32_t id);
json_t *jobs_list(const struct jobs *j);
