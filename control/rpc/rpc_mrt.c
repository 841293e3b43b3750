/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mrt.dump and mrt.summary, keel-rpc(7).
 *
 * Owner: main. Lifetime of a dump: from the call to its answer.
 */
#include "control/rpc/rpc_impl.h"

#include "control/mrt/mrt.h"
#include "control/mrt/mrt_dump.h"

#include "control/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rpc_mrt {
	struct rpc_env *env;
	struct rpc_call *call;
	char *file;
	double started_s;
};

static void
mrt_free(struct rpc_mrt *m)
{
	m->env->mrt = NULL;
	free(m->file);
	free(m);
}

static void
dump_done(void *ctx, const struct mrt_dump_result *r) RUNS_ON(role_main)
{
	struct rpc_mrt *m = ctx;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "file", m->file, "prefixes",
		(json_int_t)r->prefixes, "routes", (json_int_t)r->routes, "left_out",
		(json_int_t)r->left_out, "octets", (json_int_t)r->octets, "seconds",
		wall_s() - m->started_s);

	if (r->error != 0) {
		log_event(LOG_ERROR, "mrt-failed file=%s error=\"%s\"", m->file,
			strerrordesc_np(-r->error));
		json_object_set_new(o, "file_error", json_string(strerrordesc_np(-r->error)));
	}
	rpc_reply(m->call, o);
	mrt_free(m);
}

static json_t *
mrt_dump(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const char *file = NULL, *reason;
	struct rpc_mrt *m;
	int err;

	if (!rpc_string(params, "file", &file, call))
		return NULL;
	if (env->mrt != NULL)
		return rpc_fail(call, RPC_TRY_AGAIN, "", "a dump to %.256s runs", env->mrt->file);
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	m->file = config_output_path(apply_running(env->apply), file, &reason);
	if (m->file == NULL) {
		free(m);
		return rpc_fail(call, RPC_INVALID_PARAMS, "/file", "%s", reason);
	}
	m->env = env;
	m->call = call;
	m->started_s = wall_s();
	err = mrt_ask(apply_mrt(env->apply), m->file, dump_done, m);
	if (err == 0) {
		env->mrt = m;
		return rpc_defer(call);
	}
	mrt_free(m);
	return err == -ENOMEM
		       ? NULL
		       : rpc_fail(call, RPC_INVALID_PARAMS, "/file", "%s", strerrordesc_np(-err));
}

void
rpc_mrt_end(struct rpc_env *env)
{
	struct rpc_mrt *m = env->mrt;

	if (m == NULL)
		return;
	mrt_ask_forget(apply_mrt(env->apply));
	rpc_reply(m->call, NULL);
	mrt_free(m);
}

static json_t *
mrt_summary_call(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *o = mrt_summary(apply_mrt(env->apply));

	(void)params;
	return o != NULL ? o : rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
}

static const struct rpc_field dump_params[] = {
	{"file", "string",
		"Name of the file that keeld creates in `management.output_dir`; it must not "
		"exist."},
	{0},
};
static const struct rpc_field dump_result[] = {
	{"file", "string", "The file."},
	{"prefixes", "integer", "Prefixes in the file."},
	{"routes", "integer", "Routes in the file."},
	{"left_out", "integer",
		"Routes beyond 512 of a prefix, routes whose attributes exceed 65,535 octets, and "
		"prefixes whose record exceeds 1 MiB."},
	{"octets", "integer", "Octets of the file."},
	{"seconds", "number", "Duration of the dump."},
	{"file_error?", "string", "Why the file is not complete."},
	{0},
};

static const struct rpc_field file_fields[] = {
	{"file", "string", "The key `file`."},
	{"kind", "table|updates", "The key `kind`."},
	{"interval_s", "integer", "The key `interval_s`."},
	{"path?", "string", "The last complete file of a dump, or the present file of messages."},
	{"files", "integer", "Files so far: complete dumps, or opened files of messages.",
		COUNTER("keel_mrt_files")},
	{"records", "integer", "Records written to the files.", COUNTER("keel_mrt_records")},
	{"octets", "integer", "Octets of these records.",
		COUNTER("keel_mrt_octets", "Octets written to the files.")},
	{"written?", "integer", "Unix time of the last complete dump, or of the last record.",
		GAUGE("keel_mrt_written_seconds")},
	{"drops", "integer",
		"Messages that were not written, because the disk was full or slow. Of dumps: "
		"routes beyond 512 of a prefix, and routes and prefixes that no record can hold.",
		COUNTER("keel_mrt_drops",
			"Messages or routes that were not written to the files.")},
	{"skipped", "integer", "Dumps that were left out because the dump before still ran.",
		COUNTER("keel_mrt_skipped")},
	{"error?", "string", "Why the last dump or write failed; absent after a success."},
	{0},
};
static const struct rpc_field summary_result[] = {
	{"files", "object[]", "The files of the configuration.", file_fields},
	{0},
};

const struct rpc_method rpc_mrt_methods[] = {
	{"mrt.dump", mrt_dump, dump_params, dump_result,
		"Writes the unicast tables of the default VRF to a file (MRT)",
		"TABLE_DUMP_V2 of RFC 6396, with the records of RFC 8050 for prefixes with path "
		"identifiers. Routes have the attributes after import policy; refused routes are "
		"left out. Peer 0 is this router. The dump is no snapshot: each record shows its "
		"prefix at the time of its reading. The answer comes at the end. One dump runs at "
		"a "
		"time.",
		RPC_CHANGES, RPC_ERROR(RPC_TRY_AGAIN)},
	{"mrt.summary", mrt_summary_call, NULL, summary_result, "Files of the key `mrt`", NULL,
		RPC_READS, RPC_ERROR(RPC_TRY_AGAIN)},
	{0},
};
