/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/mrt/mrt_dump.h"

#include "control/base/file_writer.h"
#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/session/mrt.h"
#include "control/session/session.h"
#include "rib/table/attr_packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TURN_NS 2000000u
#define SECTION_SCAN 256u /* ids in one read section */
#define DUMP_PATHS 512u /* of a destination; further paths are counted as left out */

struct mrt_dump {
	const struct layers *layers;
	void (*done)(void *ctx, const struct mrt_dump_result *r);
	void *ctx;
	struct file_writer *writer;
	struct timer again;
	bool named; /* the file has a later name */
	bool cancelled, finishing;
	uint32_t wall_s; /* of the records */
	enum family family; /* of the table being read */
	struct shards_table table;
	uint32_t next, sequence;
	bool read; /* all tables are in chunks */
	struct mrt_dump_result result;
	uint16_t index_of[PEER_MAX]; /* in the peer index table, by peer id; 0: not listed */
	struct attr_set *attrs; /* ATTR_SET_MAX octets */
	struct path_set *all; /* room for DUMP_PATHS paths */
};

/* What the sessions know of the peers, by peer id. */
struct index_call {
	struct speaker *speaker;
	struct {
		bool listed;
		struct session_index index;
	} peer[PEER_MAX];
};

static void
index_peek(void *arg) RUNS_ON(role_session)
{
	struct index_call *c = arg;

	for (uint16_t id = 1; id < PEER_MAX; id++)
		c->peer[id].listed =
			session_index_peek(c->speaker, (struct peer_id){id}, &c->peer[id].index);
}

/* Entry 0 is this router, for its own routes. False: out of memory, or no room. */
static bool
index_write(struct mrt_dump *d, const struct mrt_dump_config *k) RUNS_ON(role_main)
{
	const struct ip_addr none = {.afi = AFI_IPV4};
	struct file_chunk *to = file_writer_chunk(d->writer);
	struct index_call *c = calloc(1, sizeof(*c));
	struct mrt_record r;

	if (c == NULL)
		return false;
	c->speaker = d->layers->speaker;
	layers_call_session(d->layers, index_peek, c);
	mrt_begin_index(&r, to->octets, sizeof(to->octets), d->wall_s, k->router_id);
	mrt_peer(&r, k->router_id, &none, k->asn);
	for (uint16_t id = 1; id < PEER_MAX; id++) {
		const struct session_index *p = &c->peer[id].index;

		if (!c->peer[id].listed || p->vrf.v != VRF_DEFAULT.v)
			continue;
		d->index_of[id] = r.count;
		mrt_peer(&r, p->identifier, &p->addr, p->asn);
	}
	free(c);
	to->len = mrt_end(&r);
	return to->len > 0;
}

/* False: the path is not in the table. */
static bool
path_listed(const struct mrt_dump *d, const struct rib_path *p)
{
	return !(p->label_flags & PATH_REJECTED) &&
	       (p->peer.v == PEER_SELF.v || d->index_of[p->peer.v] != 0);
}

/* Each entry has a next hop: 0.0.0.0 or :: where packets go to no neighbour, as bgpd writes own routes. */
static const struct attr_set *
attrs_of(struct mrt_dump *d, const struct shard *shard, const struct rib_path *p)
{
	struct attr_set *a = attr_unpack(attr_get(shard_attrs(shard), p->accepted), d->attrs);

	if (a->next_hop.afi == AFI_NONE || addr_is_discard(&a->next_hop))
		a->next_hop = (struct ip_addr){.afi = (uint8_t)family_afi(d->family)};
	return a;
}

/* In a read section. False: no room in the chunk. */
static bool
dest_write(struct mrt_dump *d, struct file_chunk *to, const struct shard *shard,
	const struct dest_view *v)
{
	uint64_t now_s = now_ns() / 1000000000u, wall_s = (uint64_t)time(NULL);
	bool add_path = false, any = false;
	struct mrt_record r;
	unsigned too_long = 0;
	size_t len;

	for (unsigned i = 0; i < v->paths->count; i++) {
		bool listed = path_listed(d, &v->paths->path[i]);

		any |= listed;
		add_path |= listed && v->paths->path[i].path_id != 0;
	}
	if (!any)
		return true;
	mrt_begin_prefix(&r, to->octets + to->len, sizeof(to->octets) - to->len, d->wall_s,
		d->sequence, &v->prefix, add_path);
	for (unsigned i = 0; i < v->paths->count && !r.w.bad; i++) {
		const struct rib_path *p = &v->paths->path[i];
		struct mrt_route route = {
			.peer = p->peer.v == PEER_SELF.v ? 0 : d->index_of[p->peer.v],
			.time_s = (uint32_t)(wall_s - (now_s - p->time_s)),
			.path_id = p->path_id};

		if (!path_listed(d, p))
			continue;
		route.attrs = attrs_of(d, shard, p);
		too_long += !mrt_route(&r, &route, d->family, add_path);
	}
	len = mrt_end(&r);
	if (len == 0)
		return false;
	d->result.left_out += too_long;
	if (r.count == 0)
		return true;
	to->len += len;
	d->sequence++;
	d->result.prefixes++;
	d->result.routes += r.count;
	d->result.left_out += v->behind;
	return true;
}

/* ---- the walk ---- */

static void
dump_free(struct mrt_dump *d) RUNS_ON(role_main)
{
	timer_cancel(d->layers->main_thread, &d->again);
	free(d->attrs);
	free(d->all);
	free(d);
}

static void
dump_done(struct mrt_dump *d) RUNS_ON(role_main)
{
	struct mrt_dump_result result = d->result;
	void (*done)(void *ctx, const struct mrt_dump_result *r) = d->done;
	void *ctx = d->ctx;

	result.error = file_writer_close(d->writer);
	if (d->cancelled && result.error == 0)
		result.error = -ECANCELED;
	dump_free(d);
	done(ctx, &result);
}

static void
chunk_send(struct mrt_dump *d)
{
	d->result.octets += file_writer_chunk(d->writer)->len;
	file_writer_send(d->writer);
}

/* One read section. False: the chunk is full. */
static bool
section_write(struct mrt_dump *d, struct file_chunk *to) RUNS_ON(role_main)
{
	const struct shards *shards = &d->layers->shards;
	uint32_t end, looked = 0;
	bool room = true;
	struct table_id id;

	layers_rib_read_begin(d->layers);
	if (shard_table_find(shards->at[0], VRF_DEFAULT, d->family, &id) != 0)
		id = TABLE_NONE;
	shards_table(shards, id, &d->table);
	end = shards_limit(&d->table);
	for (; room && d->next < end && looked < SECTION_SCAN; looked++) {
		struct dest_id dest = {d->next};
		struct dest_view v;

		if (shards_peek(&d->table, dest, &v) && v.paths != NULL &&
			(v.behind == 0 ||
				shards_peek_all(&d->table, dest, &v, d->all, DUMP_PATHS)) &&
			v.paths != NULL)
			room = dest_write(d, to, shards->at[shards_index(shards, dest)], &v);
		d->next += room;
	}
	layers_rib_read_end(d->layers);
	if (room && d->next >= end) {
		d->next = 0;
		d->read = d->family == FAMILY_IPV6_UNICAST;
		d->family = FAMILY_IPV6_UNICAST;
	}
	return room;
}

/* Fills chunks for a turn. False: all is read, or has failed; or the disk has all chunks. */
static bool
dump_fill(struct mrt_dump *d) RUNS_ON(role_main)
{
	uint64_t end_ns = now_ns() + TURN_NS;
	struct file_chunk *to;

	while ((to = file_writer_chunk(d->writer)) != NULL && !d->read && now_ns() < end_ns) {
		if (section_write(d, to))
			continue;
		if (to->len > 0) {
			chunk_send(d);
		} else { /* a record that no chunk can hold */
			d->result.left_out++;
			d->next++;
		}
	}
	if (to != NULL && d->read && to->len > 0)
		chunk_send(d);
	return to != NULL && !d->read;
}

static void
dump_turn(struct timer *t) RUNS_ON(role_main)
{
	struct mrt_dump *d =
		(struct mrt_dump *)(void *)((char *)t - offsetof(struct mrt_dump, again));
	bool ends = d->cancelled || file_writer_failed(d->writer) != 0;

	if (!ends && !d->finishing && dump_fill(d)) {
		timer_arm(d->layers->main_thread, t, 0);
		return;
	}
	if (!file_writer_idle(d->writer) || !(ends || d->read))
		return; /* chunk_written() follows */
	if (d->named && !d->finishing) {
		d->finishing = true;
		file_writer_finish(d->writer, !d->cancelled);
		return;
	}
	dump_done(d);
}

static void
chunk_written(void *ctx) RUNS_ON(role_main)
{
	struct mrt_dump *d = ctx;

	dump_turn(&d->again);
}

int
mrt_dump_start(const struct mrt_dump_config *c,
	void (*done)(void *ctx, const struct mrt_dump_result *r), void *ctx, struct mrt_dump **out)
{
	struct mrt_dump *d = calloc(1, sizeof(*d));
	int err;

	if (d == NULL)
		return -ENOMEM;
	d->layers = c->layers;
	d->done = done;
	d->ctx = ctx;
	d->named = c->name != NULL;
	d->wall_s = c->time_s;
	d->family = FAMILY_IPV4_UNICAST;
	d->again.fire = dump_turn;
	d->attrs = malloc(ATTR_SET_MAX);
	d->all = malloc(sizeof(*d->all) + DUMP_PATHS * sizeof(d->all->path[0]));
	err = d->attrs != NULL && d->all != NULL
		      ? file_writer_create(c->path, c->name, c->layers->main_thread, chunk_written,
				d, &d->writer)
		      : -ENOMEM;
	if (err != 0) {
		dump_free(d);
		return err;
	}
	if (index_write(d, c) && timer_arm(c->layers->main_thread, &d->again, 0) == 0) {
		*out = d;
		return 0;
	}
	file_writer_close(d->writer);
	unlink(c->path);
	dump_free(d);
	return -ENOMEM;
}

void
mrt_dump_cancel(struct mrt_dump *d)
{
	d->cancelled = true;
	if (timer_arm(d->layers->main_thread, &d->again, 0) != 0)
		dump_turn(&d->again);
}

void
mrt_dump_destroy(struct mrt_dump *d, uint64_t patience_ns)
{
	file_writer_abandon(d->writer, patience_ns);
	dump_free(d);
}
