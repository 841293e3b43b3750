/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mrt.dump, keel-rpc(7): the unicast tables of the default VRF as TABLE_DUMP_V2 (control/session/mrt.h).
 *
 * Main reads the RIB in turns of TURN_NS and fills chunks of a file_writer; without a free chunk the dump waits for the
 * disk. A failed write ends the dump.
 *
 * Owner: main. Lifetime: from the call to its answer.
 */
#include "control/rpc/rpc_call.h"
#include "control/rpc/rpc_rib_impl.h"

#include "control/base/file_writer.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "control/session/mrt.h"
#include "control/session/session.h"
#include "rib/attr_packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TURN_NS 2000000u
#define SECTION_SCAN 256u /* ids in one read section */
#define DUMP_PATHS 512u /* of a destination; further paths are counted as left out */
#define END_NS 2000000000u /* patience with the disk when keeld stops */

struct rpc_mrt {
	struct rpc_env *env;
	struct rpc_call *call;
	struct file_writer *writer;
	struct timer again;
	char *file;
	double started_s;
	uint32_t wall_s; /* of the records */
	struct query query; /* the table being read */
	uint32_t next, sequence;
	bool read; /* all tables are in chunks */
	uint64_t prefixes, routes, left_out, octets;
	uint16_t index_of[PEER_MAX]; /* in the peer index table, by peer id; 0: not listed */
	struct path_set *all; /* room for DUMP_PATHS paths */
};

/* What the OPEN messages of the peers say, by peer id. */
struct index_call {
	struct speaker *speaker;
	struct {
		uint32_t identifier, asn;
	} peer[PEER_MAX];
};

static void
index_peek(void *arg) RUNS_ON(role_session)
{
	struct index_call *c = arg;

	for (uint16_t id = 1; id < PEER_MAX; id++) {
		struct session_view v;

		if (!session_peek(c->speaker, (struct peer_id){id}, &v))
			continue;
		c->peer[id].identifier = v.remote_identifier;
		c->peer[id].asn = v.remote_asn;
	}
}

/* Entry 0 is this router, for its own routes. False: out of memory, or no room. */
static bool
index_write(struct rpc_mrt *m) RUNS_ON(role_main)
{
	const struct config *running = apply_running(m->env->apply);
	const struct ip_addr none = {.afi = AFI_IPV4};
	struct file_chunk *to = file_writer_chunk(m->writer);
	struct index_call *c = calloc(1, sizeof(*c));
	struct mrt_record r;

	if (c == NULL)
		return false;
	c->speaker = m->env->layers->speaker;
	layers_call_session(m->env->layers, index_peek, c);
	mrt_begin_index(&r, to->octets, sizeof(to->octets), m->wall_s, running->router_id);
	mrt_peer(&r, running->router_id, &none, running->asn);
	for (struct peer_id id = {0}; (id = peers_next(m->env->peers, id)).v != 0;) {
		const struct config_peer *p = peers_config(m->env->peers, id);

		if (p->vrf.v != VRF_DEFAULT.v)
			continue;
		m->index_of[id.v] = r.count;
		mrt_peer(&r, c->peer[id.v].identifier, &p->addr,
			p->asn != 0 ? p->asn : c->peer[id.v].asn);
	}
	free(c);
	to->len = mrt_end(&r);
	return to->len > 0;
}

/* False: the path is not in the table. */
static bool
path_listed(const struct rpc_mrt *m, const struct rib_path *p)
{
	return !(p->label_flags & PATH_REJECTED) &&
	       (p->peer.v == PEER_SELF.v || m->index_of[p->peer.v] != 0);
}

/* In a read section. False: no room in the chunk. */
static bool
dest_write(struct rpc_mrt *m, struct file_chunk *to, const struct dest_view *v)
{
	uint64_t now_s = now_ns() / 1000000000u, wall_s = (uint64_t)time(NULL);
	bool add_path = false, any = false;
	struct mrt_record r;
	unsigned too_long = 0;
	size_t len;

	for (unsigned i = 0; i < v->paths->count; i++) {
		bool listed = path_listed(m, &v->paths->path[i]);

		any |= listed;
		add_path |= listed && v->paths->path[i].path_id != 0;
	}
	if (!any)
		return true;
	mrt_begin_prefix(&r, to->octets + to->len, sizeof(to->octets) - to->len, m->wall_s,
		m->sequence, &v->prefix, add_path);
	for (unsigned i = 0; i < v->paths->count && !r.w.bad; i++) {
		const struct rib_path *p = &v->paths->path[i];
		struct mrt_route route = {
			.peer = p->peer.v == PEER_SELF.v ? 0 : m->index_of[p->peer.v],
			.time_s = (uint32_t)(wall_s - (now_s - p->time_s)),
			.path_id = p->path_id};

		if (!path_listed(m, p))
			continue;
		route.attrs = attr_unpack(
			attr_get(shard_attrs(m->query.shard), p->accepted), m->env->attr_buf);
		too_long += !mrt_route(&r, &route, m->query.family, add_path);
	}
	len = mrt_end(&r);
	if (len == 0)
		return false;
	m->left_out += too_long;
	if (r.count == 0)
		return true;
	to->len += len;
	m->sequence++;
	m->prefixes++;
	m->routes += r.count;
	m->left_out += v->behind;
	return true;
}

/* ---- the walk ---- */

static void
dump_free(struct rpc_mrt *m) RUNS_ON(role_main)
{
	m->env->mrt = NULL;
	timer_cancel(m->env->layers->main_thread, &m->again);
	free(m->all);
	free(m->file);
	free(m);
}

static void
dump_finish(struct rpc_mrt *m) RUNS_ON(role_main)
{
	int err = file_writer_close(m->writer);
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "file", m->file, "prefixes",
		(json_int_t)m->prefixes, "routes", (json_int_t)m->routes, "left_out",
		(json_int_t)m->left_out, "octets", (json_int_t)m->octets, "seconds",
		rpc_wall_s() - m->started_s);

	if (err != 0) {
		log_event(LOG_ERROR, "mrt-failed file=%s error=\"%s\"", m->file,
			strerrordesc_np(-err));
		json_object_set_new(o, "file_error", json_string(strerrordesc_np(-err)));
	}
	rpc_reply(m->call, o);
	dump_free(m);
}

static void
chunk_send(struct rpc_mrt *m)
{
	m->octets += file_writer_chunk(m->writer)->len;
	file_writer_send(m->writer);
}

/* One read section. False: the chunk is full. */
static bool
section_write(struct rpc_mrt *m, struct file_chunk *to) RUNS_ON(role_main)
{
	struct query *q = &m->query;
	uint32_t end, looked = 0;
	bool room = true;

	query_section_begin(q);
	end = shards_limit(&q->table);
	for (; room && m->next < end && looked < SECTION_SCAN; looked++) {
		struct dest_id id = {m->next};
		struct dest_view v;

		q->shard = query_shard(q, id);
		if (shards_peek(&q->table, id, &v) && v.paths != NULL &&
			(v.behind == 0 || shards_peek_all(&q->table, id, &v, m->all, DUMP_PATHS)) &&
			v.paths != NULL)
			room = dest_write(m, to, &v);
		m->next += room;
	}
	layers_rib_read_end(m->env->layers);
	if (room && m->next >= end) {
		m->next = 0;
		m->read = q->family == FAMILY_IPV6_UNICAST;
		q->family = FAMILY_IPV6_UNICAST;
	}
	return room;
}

static void
dump_turn(struct timer *t) RUNS_ON(role_main)
{
	struct rpc_mrt *m = (struct rpc_mrt *)(void *)((char *)t - offsetof(struct rpc_mrt, again));
	uint64_t end_ns = now_ns() + TURN_NS;
	struct file_chunk *to;

	while ((to = file_writer_chunk(m->writer)) != NULL && !m->read &&
		file_writer_failed(m->writer) == 0 && now_ns() < end_ns) {
		if (section_write(m, to))
			continue;
		if (to->len > 0) {
			chunk_send(m);
		} else { /* a record that no chunk can hold */
			m->left_out++;
			m->next++;
		}
	}
	if (file_writer_failed(m->writer) == 0 && to != NULL && m->read && to->len > 0)
		chunk_send(m);
	else if (file_writer_failed(m->writer) == 0 && to != NULL && !m->read)
		timer_arm(m->env->layers->main_thread, t, 0);
	if (file_writer_idle(m->writer) && (m->read || file_writer_failed(m->writer) != 0))
		dump_finish(m);
}

static void
chunk_written(void *ctx) RUNS_ON(role_main)
{
	struct rpc_mrt *m = ctx;

	dump_turn(&m->again);
}

static json_t *
mrt_dump(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const char *file = NULL;
	struct rpc_mrt *m;
	int err;

	if (!rpc_string(params, "file", &file, call))
		return NULL;
	if (file[0] != '/')
		return rpc_fail(call, RPC_INVALID_PARAMS, "/file", "is not an absolute path");
	if (env->mrt != NULL)
		return rpc_fail(call, RPC_TRY_AGAIN, "", "a dump to %.256s runs", env->mrt->file);
	m = calloc(1, sizeof(*m));
	if (m == NULL || (m->file = strdup(file)) == NULL) {
		free(m);
		return NULL;
	}
	m->env = env;
	m->call = call;
	m->started_s = rpc_wall_s();
	m->wall_s = (uint32_t)m->started_s;
	m->query = (struct query){
		.env = env, .view = VIEW_LOC, .vrf = VRF_DEFAULT, .family = FAMILY_IPV4_UNICAST};
	m->again.fire = dump_turn;
	m->all = malloc(sizeof(*m->all) + DUMP_PATHS * sizeof(m->all->path[0]));
	err = m->all != NULL ? file_writer_create(
				       file, env->layers->main_thread, chunk_written, m, &m->writer)
			     : -ENOMEM;
	if (err == 0) {
		env->mrt = m;
		if (index_write(m) && timer_arm(env->layers->main_thread, &m->again, 0) == 0)
			return rpc_defer(call);
		file_writer_close(m->writer);
		unlink(file);
		err = -ENOMEM;
	}
	dump_free(m);
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
	env->mrt = NULL;
	timer_cancel(env->layers->main_thread, &m->again);
	rpc_reply(m->call, NULL);
	file_writer_abandon(m->writer, END_NS); /* the memory stays: the disk may never answer */
}

static const struct rpc_field dump_params[] = {
	{"file", "string", "Absolute path of the file that keeld creates; it must not exist."},
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
	{0},
};
