/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/jobs.h"
#include "control/base/threads.h"

#include <stdlib.h>
#include <string.h>

#define JOBS_KEPT 1000

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED };

struct job {
	uint32_t id;
	const char *kind;
	enum job_state state;
	uint64_t done, total;
	uint64_t ended; /* rank of the end, from 1; 0: running */
	double started_s, finished_s;
	json_t *result;
	const char *failure; /* of the first part that failed */
};

struct jobs {
	struct job *job; /* in order of ids */
	unsigned count, size;
	unsigned ended_count;
	uint64_t last_ended;
	uint32_t last_id;
};

struct jobs *
jobs_create(void)
{
	return calloc(1, sizeof(struct jobs));
}

void
jobs_destroy(struct jobs *j)
{
	for (unsigned i = 0; i < j->count; i++)
		json_decref(j->job[i].result);
	free(j->job);
	free(j);
}

static void
job_remove(struct jobs *j, struct job *job)
{
	json_decref(job->result);
	j->ended_count -= job->state != JOB_RUNNING;
	memmove(job, job + 1, (size_t)(&j->job[j->count] - (job + 1)) * sizeof(*job));
	j->count--;
}

/*
 * Drops the job with the earliest end if more than JOBS_KEPT have ended. The id does not give the
 * order: a long job with a low id ends late.
 */
static void
drop_oldest(struct jobs *j)
{
	struct job *oldest = NULL;

	if (j->ended_count <= JOBS_KEPT)
		return;
	for (unsigned i = 0; i < j->count; i++) {
		struct job *job = &j->job[i];

		if (job->state != JOB_RUNNING && (oldest == NULL || job->ended < oldest->ended))
			oldest = job;
	}
	job_remove(j, oldest);
}

uint32_t
jobs_begin(struct jobs *j, const char *kind, uint64_t total)
{
	if (j->count == j->size) {
		unsigned size = j->size ? 2 * j->size : 64;
		struct job *job = realloc(j->job, (size_t)size * sizeof(*job));

		if (job == NULL)
			return 0; /* the work runs without a job */
		j->job = job;
		j->size = size;
	}
	j->job[j->count++] = (struct job){
		.id = ++j->last_id, .kind = kind, .total = total, .started_s = wall_s()};
	return j->last_id;
}

static struct job *
find(const struct jobs *j, uint32_t id)
{
	for (unsigned i = j->count; i-- > 0;) {
		if (j->job[i].id == id)
			return &j->job[i];
	}
	return NULL;
}

void
jobs_advance(struct jobs *j, uint32_t id, uint64_t done)
{
	struct job *job = find(j, id);

	if (job == NULL || job->state != JOB_RUNNING)
		return;
	job->done += done;
	if (job->total != 0 && job->done > job->total)
		job->done = job->total;
	if (job->total != 0 && job->done >= job->total)
		jobs_end(j, id, job->failure != NULL,
			job->failure != NULL ? json_pack("{s:s}", "reason", job->failure) : NULL);
}

void
jobs_progress(struct jobs *j, uint32_t id, uint64_t done, uint64_t total)
{
	struct job *job = find(j, id);

	if (job == NULL || job->state != JOB_RUNNING)
		return;
	job->done = done;
	job->total = total;
}

void
jobs_fail_part(struct jobs *j, uint32_t id, const char *reason)
{
	struct job *job = find(j, id);

	if (job == NULL)
		return;
	if (job->failure == NULL)
		job->failure = reason;
	jobs_advance(j, id, 1);
}

void
jobs_forget(struct jobs *j, uint32_t id)
{
	struct job *job = find(j, id);

	if (job != NULL)
		job_remove(j, job);
}

void
jobs_end(struct jobs *j, uint32_t id, bool failed, json_t *result)
{
	struct job *job = find(j, id);

	if (job == NULL || job->state != JOB_RUNNING) {
		json_decref(result);
		return;
	}
	job->state = failed ? JOB_FAILED : JOB_DONE;
	job->finished_s = wall_s();
	job->result = result;
	job->ended = ++j->last_ended;
	j->ended_count++;
	drop_oldest(j);
}

const char *
jobs_kind(const struct jobs *j, uint32_t id)
{
	const struct job *job = find(j, id);

	return job != NULL ? job->kind : NULL;
}

static json_t *
job_json(const struct job *job)
{
	static const char *const states[] = {"running", "done", "failed"};
	json_t *o = json_pack("{s:I, s:s, s:s, s:I, s:I, s:f}", "id", (json_int_t)job->id, "kind",
		job->kind, "state", states[job->state], "done", (json_int_t)job->done, "total",
		(json_int_t)job->total, "started_s", job->started_s);

	if (job->state == JOB_RUNNING)
		json_object_set_new(o, "finished_s", json_null());
	else
		json_object_set_new(o, "finished_s", json_real(job->finished_s));
	if (job->result != NULL)
		json_object_set(o, "result", job->result);
	else
		json_object_set_new(o, "result", json_null());
	return o;
}

json_t *
jobs_get(const struct jobs *j, uint32_t id)
{
	const struct job *job = find(j, id);

	return job != NULL ? job_json(job) : NULL;
}

json_t *
jobs_list(const struct jobs *j)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < j->count; i++)
		json_array_append_new(a, job_json(&j->job[i]));
	return a;
}
