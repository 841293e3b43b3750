/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: work that takes longer than an answer, such as a refresh or an audit. The last 1,000 ended
 * jobs are kept. Writer: main.
 */
#pragma once

#include "lpm/base/base.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jobs;

struct jobs *jobs_create(void) RUNS_ON(role_main);
void jobs_destroy(struct jobs *j) RUNS_ON(role_main);
/*
 * Begins a job. `kind`: "refresh-import", "refresh-export", "audit". `total` 0: unknown. Returns
 * the id; 0: out of memory.
 */
uint32_t jobs_begin(struct jobs *j, const char *kind, uint64_t total) RUNS_ON(role_main);
/*
 * Adds `done`. A job ends when the sum reaches the total; the job has failed if a part has failed.
 */
void jobs_advance(struct jobs *j, uint32_t id, uint64_t done) RUNS_ON(role_main);
/* Sets the progress of a running job; does not end the job. */
void jobs_progress(struct jobs *j, uint32_t id, uint64_t done, uint64_t total) RUNS_ON(role_main);
/* A part of the job failed for `reason` (a literal); the remaining parts continue. */
void jobs_fail_part(struct jobs *j, uint32_t id, const char *reason) RUNS_ON(role_main);
/* Removes a job that has not run. */
void jobs_forget(struct jobs *j, uint32_t id) RUNS_ON(role_main);
/* Ends the job; takes `result` (or NULL) over. */
void jobs_end(struct jobs *j, uint32_t id, bool failed, json_t *result) RUNS_ON(role_main);
/* NULL: no such job. */
const char *jobs_kind(const struct jobs *j, uint32_t id) RUNS_ON(role_main);
/*
 * {id, kind, state, done, total, started_s, finished_s, result}; NULL: no such job. A new
 * reference.
 */
json_t *jobs_get(const struct jobs *j, uint32_t id) RUNS_ON(role_main);
json_t *jobs_list(const struct jobs *j) RUNS_ON(role_main);
