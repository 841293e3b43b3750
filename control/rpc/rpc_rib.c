/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods rib.*, keel-rpc(7). Read by RCU, in sections of a few dozen destinations. */
#include "control/rpc/rpc_rib_impl.h"

#include "control/apply/apply.h"
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/rpki/rpki.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "rib/table/decision.h"
#include "rib/feed/fib_feed.h"
#include "rib/shard/leak.h"
#include "rib/shard/shard.h"
#include "rib/table/vrp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTION 64 /* destinations in one reader's section: well below 1 ms */
#define SECTION_SCAN 16384 /* ids examined in one section when few match */
#define SCAN_MAX 262144 /* ids examined for one page, about 2 ms: an empty page may have a `next` */
/* The same where the paths of each destination are read, and perhaps a regular expression runs. */
#define SCAN_PATHS_MAX 4096
#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 10000
#define PATHS_USUAL 64
/* Octets of attributes in a page: a route may have 64 KiB, and 25 times as much in JSON. */
#define PAGE_ATTRS_MAX (4u << 20)

static json_t *
peer_text(struct rpc_env *env, struct peer_id id)
{
	struct shard_peer p;

	if (id.v == PEER_SELF.v || !shard_peer_peek(env->layers->shards.at[0], id, &p))
		return json_null();
	return rpc_addr(&p.addr);
}

/* ---- routes ---- */

/* The source of our own path. */
static const char *
source_text(const struct rib_path *p)
{
	static const char *const text[SOURCE_COUNT] = {
		"connected", "static", "external", "kernel", "internal", "network"};

	return rib_path_source(p) < SOURCE_COUNT ? text[rib_path_source(p)] : "?";
}

/*
 * The attributes of a path in the view: as received, or after import policy; until the next call. NULL: the path is not in
 * the view.
 */
static const struct attr_set *
path_attrs(const struct query *q, const struct rib_path *p)
{
	const struct attr_packed *a = NULL;

	if (q->view == VIEW_ADJ_IN_PRE ||
		(q->view == VIEW_FATE && (p->label_flags & PATH_REJECTED)))
		a = shard_path_received(q->shard, p);
	else if (!(p->label_flags & PATH_REJECTED))
		a = attr_get(shard_attrs(q->shard), p->accepted);
	return a != NULL ? attr_unpack(a, q->env->attr_buf) : NULL;
}

/* ---- the keys of a route ---- */

/* A route of the answer. */
struct found {
	struct query *q;
	const struct prefix *prefix;
	const struct attr_set *attrs;
	const struct rib_path *path; /* NULL with adj-out */
	bool best, valid, multipath;
	bool vpn; /* has a route distinguisher, and perhaps a label */
	struct vpn_rd rd;
	uint32_t label;
	uint32_t path_id;
	enum decision_reason reason; /* why it is not best */
};

static json_t *
key_prefix(const struct found *f)
{
	return rpc_prefix(f->prefix);
}

static json_t *
key_peer(const struct found *f)
{
	return f->path != NULL ? peer_text(f->q->env, f->path->peer)
			       : json_string_nocheck(f->q->peer->addr_text);
}

static json_t *
key_best(const struct found *f)
{
	return json_boolean(f->best);
}

static json_t *
key_valid(const struct found *f)
{
	return json_boolean(f->valid);
}

static json_t *
key_stale(const struct found *f)
{
	return json_boolean(
		f->path != NULL && shard_path_stale(f->q->shard, f->q->family, f->path));
}

static json_t *
key_age(const struct found *f)
{
	return json_integer(
		f->path != NULL ? (json_int_t)(now_ns() / 1000000000u - f->path->time_s) : 0);
}

static json_t *
key_rd(const struct found *f)
{
	char text[VPN_TEXT_MAX];

	return f->vpn ? json_string(vpn_rd_format(f->rd, text)) : NULL;
}

static json_t *
key_labels(const struct found *f)
{
	return f->vpn && f->label != RIB_LABEL_NONE ? json_pack("[I]", (json_int_t)f->label) : NULL;
}

/* By the records in use now: a walk over the routes may not be complete. */
static json_t *
key_validation(const struct found *f)
{
	const struct query *q = f->q;

	if (q->vrps == NULL || q->vpn || f->path == NULL)
		return NULL;
	return json_string(validation_text(
		vrps_validate(q->vrps, f->prefix, vrp_origin(f->attrs, q->own_asn))));
}

static json_t *
key_path_id(const struct found *f)
{
	return f->path_id != 0 ? json_integer(f->path_id) : NULL;
}

static json_t *
key_source(const struct found *f)
{
	return f->path != NULL && f->path->peer.v == PEER_SELF.v ? json_string(source_text(f->path))
								 : NULL;
}

static json_t *
key_multipath(const struct found *f)
{
	return f->multipath ? json_true() : NULL;
}

static json_t *
key_reason(const struct found *f)
{
	return f->best ? NULL : json_string(decision_reason_text(f->reason));
}

/* Known at the end of a section, installed_flush(). */
static json_t *
key_installed(const struct found *f)
{
	(void)f;
	return NULL;
}

/* All keys except the keys of attributes. */
static const struct {
	const char *key;
	json_t *(*value)(const struct found *f); /* NULL: the route has no such key */
} keys[] = {
	{"prefix", key_prefix},
	{"peer", key_peer},
	{"best", key_best},
	{"valid", key_valid},
	{"stale", key_stale},
	{"age_s", key_age},
	{"rd", key_rd},
	{"labels", key_labels},
	{"validation", key_validation},
	{"path_id", key_path_id},
	{"source", key_source},
	{"multipath", key_multipath},
	{"reason", key_reason},
	{"installed", key_installed},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
#define KEY_INSTALLED (KEY_COUNT - 1)

static void
not_installed(const struct query *q, json_t *route)
{
	if (q->column_count == 0)
		json_object_set_new(route, "installed", json_false());
	for (unsigned i = 0; i < q->column_count; i++)
		if (q->column[i] == KEY_INSTALLED)
			json_array_set_new(route, i, json_false());
}

static json_t *
route_row(const struct found *f)
{
	const struct query *q = f->q;
	json_t *row = json_array();

	for (unsigned i = 0; i < q->column_count; i++) {
		unsigned key = q->column[i];
		json_t *value =
			key < KEY_COUNT ? keys[key].value(f) : rpc_attr(key - KEY_COUNT, f->attrs);

		json_array_append_new(row, value != NULL ? value : json_null());
	}
	return row;
}

static json_t *
route_object(const struct found *f)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < KEY_COUNT; i++) {
		json_t *value = keys[i].value(f);

		if (value != NULL)
			json_object_set_new_nocheck(o, keys[i].key, value);
	}
	rpc_attrs(o, f->attrs);
	return o;
}

/* Appends the route to the page. Returns its JSON value. */
static json_t *
route_add(const struct found *f)
{
	json_t *route = f->q->column_count > 0 ? route_row(f) : route_object(f);

	f->q->attrs_len += attr_set_size(f->attrs);
	json_array_append_new(f->q->routes, route);
	return route;
}

static bool
columns_read(struct query *q, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *list = json_object_get(params, "columns"), *item;
	char at[32];
	size_t i;

	if (list == NULL)
		return true;
	if (!json_is_array(list) || json_array_size(list) < 1 ||
		json_array_size(list) > COLUMNS_MAX) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/columns",
			"is not an array of 1 to %u keys of a route", COLUMNS_MAX);
		return false;
	}
	json_array_foreach(list, i, item)
	{
		const char *text = json_is_string(item) ? json_string_value(item) : "";
		unsigned key = 0, attr = rpc_attr_find(text);

		while (key < KEY_COUNT && strcmp(keys[key].key, text) != 0)
			key++;
		if (key == KEY_COUNT && attr == RPC_ATTR_COUNT) {
			snprintf(at, sizeof(at), "/columns/%zu", i);
			rpc_fail(call, RPC_INVALID_PARAMS, at, "\"%.64s\" is not a key of a route",
				text);
			return false;
		}
		q->column[q->column_count++] = (uint8_t)(key < KEY_COUNT ? key : KEY_COUNT + attr);
	}
	return true;
}

/* ---- routes missing in the forwarding table; the fib thread is asked only when some are missing ---- */

static void
installed_read(void *arg) RUNS_ON(role_fib)
{
	struct installed *in = arg;
	const struct query *q = in->q;

	for (unsigned i = 0; i < in->count; i++) {
		struct path_list_id list;

		in->missing[i] = fib_is_waiting(q->env->layers->fib, q->vrf, &in->prefix[i]) ||
				 (fib_feed_failed(q->env->layers->feed) > 0 &&
					 !fib_shadow_get(q->env->layers->fib, q->vrf,
						 &in->prefix[i], &list));
	}
}

static void
installed_flush(struct installed *in) RUNS_ON(role_main)
{
	if (in->count == 0)
		return;
	layers_call_fib(in->q->env->layers, installed_read, in);
	for (unsigned i = 0; i < in->count; i++) {
		if (in->missing[i])
			not_installed(in->q, in->route[i]);
	}
	in->count = 0;
}

static bool
some_not_installed(const struct rpc_env *env)
{
	struct fib_stats s;

	if (env->layers->fib == NULL)
		return false;
	fib_stats_get(env->layers->fib, &s);
	return s.not_installed > 0 || fib_feed_failed(env->layers->feed) > 0;
}

/* `route` is a best route, and not one of `networks` (which have no entry in the tables). */
static void
installed_ask(struct query *q, const struct prefix *p, json_t *route)
{
	struct installed *in = &q->installed;

	if (in->count == INSTALLED_ASK || !some_not_installed(q->env))
		return;
	in->q = q;
	in->prefix[in->count] = *p;
	in->route[in->count++] = route;
}

/* ---- the paths of a destination ---- */

static json_t *
path_add(struct query *q, const struct dest_view *v, unsigned i, const struct attr_set *a,
	enum decision_reason reason)
{
	const struct rib_path *p = &v->paths->path[i];
	/* of an instance: with the distinguisher and the path id of the source */
	struct leak_origin origin = {.path_id = p->path_id};
	bool imported = shard_path_origin(q->shard, p, &origin);
	bool valid = i < v->paths->eligible;
	bool multipath = v->paths->multipath > 1 && i < v->paths->multipath;
	struct found f = {.q = q,
		.prefix = &v->prefix,
		.attrs = a,
		.path = p,
		.best = i == 0 && valid,
		.valid = valid,
		.multipath = multipath,
		.vpn = imported || q->vpn,
		.rd = imported ? origin.rd : v->rd,
		.label = p->label_flags >> 12,
		.path_id = origin.path_id,
		.reason = reason};
	json_t *route = route_add(&f);

	if (p->peer.v != PEER_SELF.v && f.best && !q->vpn)
		installed_ask(q, &v->prefix, route);
	return route;
}

struct ranking {
	struct decision_input *in;
	enum decision_reason *reason;
	unsigned *order;
};

/* Sorts r->order: the first paths stay, the rest by rank. */
static void
keep_front(const struct ranking *r, unsigned ordered, unsigned n)
{
	unsigned at = n;

	for (unsigned i = n; i-- > 0;)
		if (r->order[i] >= ordered)
			r->order[--at] = r->order[i];
	for (unsigned i = 0; i < at; i++)
		r->order[i] = i;
}

/* All paths of a destination, or the paths of one peer. */
static void
paths_add_ranked(struct query *q, const struct dest_view *v, const struct ranking *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		shard_decision_input(q->shard, &v->paths->path[i], &r->in[i]);
	decision_order(r->in, n, r->order, r->reason);
	keep_front(r, v->ordered, n);
	for (unsigned k = 0; k < n; k++) {
		unsigned i = r->order[k];
		const struct rib_path *p = &v->paths->path[i];
		const struct attr_set *a =
			q->peer == NULL || p->peer.v == q->peer_id.v ? path_attrs(q, p) : NULL;
		json_t *route;

		if (a == NULL || (q->only_best && (i != 0 || v->paths->eligible == 0)) ||
			!rpc_selector_match(q, &v->prefix, a))
			continue;
		if (q->only_count) {
			q->counted++;
			continue;
		}
		route = path_add(q, v, i, a, r->reason[i]);
		if (q->path != NULL)
			q->path(q, p, route);
	}
}

static void
paths_add(struct query *q, const struct dest_view *v)
{
	struct decision_input in[PATHS_USUAL] = {0};
	enum decision_reason reason[PATHS_USUAL];
	unsigned order[PATHS_USUAL], n = v->paths->count;
	struct ranking r = {in, reason, order};

	if (n <= PATHS_USUAL) {
		paths_add_ranked(q, v, &r, n);
		return;
	}
	r = (struct ranking){
		calloc(n, sizeof(*in)), calloc(n, sizeof(*reason)), calloc(n, sizeof(*order))};
	if (r.in != NULL && r.reason != NULL && r.order != NULL)
		paths_add_ranked(q, v, &r, n);
	free(r.in);
	free(r.reason);
	free(r.order);
}

/* A destination whose view may show the first paths only. */
static void
dest_add(struct query *q, struct dest_id id, struct dest_view *v)
{
	struct path_set *all = NULL;

	while (v->paths != NULL && v->behind > 0) {
		unsigned size = 2 * (v->paths->count + v->behind);

		free(all);
		all = calloc(1, sizeof(*all) + size * sizeof(all->path[0]));
		if (all == NULL || !shards_peek_all(&q->table, id, v, all, size))
			v->paths = NULL;
	}
	if (v->paths != NULL)
		paths_add(q, v);
	free(all);
}

/* ---- adj-out: read on the session thread, a section at a time ---- */

struct adj_out_section {
	struct query *q;
	struct dest_id id[SECTION];
	struct prefix prefix[SECTION];
	struct vpn_rd rd[SECTION];
	uint32_t label[SECTION];
	struct attr_set *attrs[SECTION]; /* NULL: not advertised */
	unsigned count;
};

static void
adj_out_read(void *arg) RUNS_ON(role_session)
{
	struct adj_out_section *s = arg;
	struct attr_set *buf = s->q->env->attr_buf;

	for (unsigned i = 0; i < s->count; i++) {
		int n = session_adj_out(s->q->env->layers->speaker, s->q->peer_id, s->q->family,
			s->id[i], buf, ATTR_SET_MAX, &s->label[i]);

		s->attrs[i] = n > 0 ? malloc((size_t)n) : NULL;
		if (s->attrs[i] != NULL)
			memcpy(s->attrs[i], buf, (size_t)n);
	}
}

static void
adj_out_flush(struct adj_out_section *s) RUNS_ON(role_main)
{
	layers_call_session(s->q->env->layers, adj_out_read, s);
	for (unsigned i = 0; i < s->count; i++) {
		bool selected;

		if (s->attrs[i] == NULL)
			continue;
		selected = rpc_selector_match(s->q, &s->prefix[i], s->attrs[i]);
		if (!selected || s->q->only_count) {
			s->q->counted += selected;
			free(s->attrs[i]);
			continue;
		}
		(void)route_add(&(struct found){.q = s->q,
			.prefix = &s->prefix[i],
			.attrs = s->attrs[i],
			.best = true,
			.valid = true,
			.vpn = s->q->vpn,
			.rd = s->rd[i],
			.label = s->label[i]});
		free(s->attrs[i]);
	}
	s->count = 0;
}

/* ---- the scan ---- */

const struct shard *
query_shard(const struct query *q, struct dest_id id)
{
	const struct shards *s = &q->env->layers->shards;

	return s->at[shards_index(s, id)];
}

static bool
wanted(const struct query *q, const struct dest_view *v)
{
	if (v->paths == NULL || (q->has_rd && v->rd.v != q->rd.v))
		return false;
	if (!q->has_prefix)
		return true;
	return q->longer ? prefix_covers(&q->prefix, &v->prefix)
			 : prefix_equal(&q->prefix, &v->prefix);
}

/* `default_originate`: a route of no destination. */
static void
own_default_add(struct query *q, struct adj_out_section *out) RUNS_ON(role_main)
{
	const struct prefix zero = {.afi = (uint8_t)family_afi(q->family)};

	if (q->view != VIEW_ADJ_OUT || q->vpn ||
		(q->has_prefix && (q->longer ? !prefix_covers(&q->prefix, &zero)
					     : !prefix_equal(&q->prefix, &zero))))
		return;
	out->id[0] = (struct dest_id){DEST_NONE};
	out->rd[0] = (struct vpn_rd){0};
	out->prefix[0] = zero;
	out->count = 1;
	adj_out_flush(out);
}

static bool
page_full(const struct query *q, unsigned more)
{
	return (json_int_t)json_array_size(q->routes) + (json_int_t)more >= q->limit ||
	       q->attrs_len >= PAGE_ATTRS_MAX || rpc_selector_over(q);
}

bool
query_table(const struct query *q)
{
	struct table_id id;

	return shard_table_find(q->env->layers->shards.at[0], q->vrf, q->family, &id) == 0;
}

void
query_section_begin(struct query *q)
{
	const struct shards *shards = &q->env->layers->shards;
	struct table_id id;

	layers_rib_read_begin(q->env->layers);
	if (shard_table_find(shards->at[0], q->vrf, q->family, &id) != 0)
		id = TABLE_NONE;
	shards_table(shards, id, &q->table);
	q->vrps = rpki_vrps(apply_rpki(q->env->apply));
	q->own_asn = apply_running(q->env->apply)->asn;
}

/* Scans from `next` on until the page, the section or the scan is full. Returns where the next section begins. */
static uint32_t
scan_section(struct query *q, uint32_t next, uint32_t end, struct adj_out_section *out)
	RUNS_ON(role_main)
{
	unsigned taken = 0, looked = 0;

	query_section_begin(q);
	for (; next < end && taken < SECTION && looked < SECTION_SCAN; next++, looked++) {
		struct dest_view v;

		if (page_full(q, out->count))
			break;
		if (!shards_peek(&q->table, (struct dest_id){next}, &v) || !wanted(q, &v))
			continue;
		taken++;
		if (q->view == VIEW_ADJ_OUT) {
			out->id[out->count] = (struct dest_id){next};
			out->rd[out->count] = v.rd;
			out->prefix[out->count++] = v.prefix;
		} else {
			q->shard = query_shard(q, (struct dest_id){next});
			dest_add(q, (struct dest_id){next}, &v);
		}
	}
	layers_rib_read_end(q->env->layers);
	if (out->count > 0)
		adj_out_flush(out);
	if (q->installed.count > INSTALLED_ASK - SECTION)
		installed_flush(&q->installed);
	return next;
}

/* The exact prefix, without a scan. */
static struct dest_id
one_prefix(struct query *q, struct adj_out_section *out) RUNS_ON(role_main)
{
	struct dest_id id;

	query_section_begin(q);
	id = shards_find_rd(&q->table, q->rd, &q->prefix);
	layers_rib_read_end(q->env->layers);
	if (id.v != DEST_NONE)
		scan_section(q, id.v, id.v + 1, out);
	installed_flush(&q->installed);
	return id;
}

struct dest_id
query_paths(struct query *q)
{
	struct adj_out_section unused = {.q = q};

	return one_prefix(q, &unused);
}

#define REFUSED_PEERS 64u

/* True if the peer has a path for the prefix now: an earlier refusal is then obsolete. */
static bool
has_path(struct query *q, struct peer_id peer) RUNS_ON(role_main)
{
	struct dest_view v;
	bool has = false;

	query_section_begin(q);
	if (shards_peek(&q->table, shards_find_rd(&q->table, q->rd, &q->prefix), &v) &&
		v.paths != NULL)
		for (unsigned i = 0; i < v.paths->count && !has; i++)
			has = v.paths->path[i].peer.v == peer.v;
	layers_rib_read_end(q->env->layers);
	return has;
}

json_t *
query_refused(struct query *q)
{
	struct refused_route list[REFUSED_PEERS];
	const struct shard *s =
		shards_for(&q->env->layers->shards, shards_by(q->vrf, q->family), &q->prefix);
	json_t *out = json_array();
	unsigned n;

	n = shard_refused_find(s, q->family, q->rd, &q->prefix, list, REFUSED_PEERS);
	for (unsigned i = 0; i < n; i++) {
		struct shard_peer p;
		double age_s = (double)now_ns() / 1e9 - list[i].time_s;

		if (!shard_peer_peek(s, list[i].peer, &p) || p.vrf.v != q->vrf.v ||
			(q->peer != NULL && q->peer_id.v != list[i].peer.v) ||
			has_path(q, list[i].peer))
			continue;
		json_array_append_new(out,
			json_pack("{s:o, s:o, s:s, s:f}", "prefix", rpc_prefix(&q->prefix), "peer",
				rpc_addr(&p.addr), "cause", refused_text(list[i].cause), "age_s",
				age_s > 0 ? age_s : 0.0));
		if (!query_refusal(q, &list[i], json_array_get(out, json_array_size(out) - 1)))
			json_array_remove(out, json_array_size(out) - 1);
	}
	return out;
}

static bool
query_view(struct query *q, const char *text, struct rpc_call *call)
{
	if (strcmp(text, "adj-in") == 0) {
		q->view = VIEW_ADJ_IN;
	} else if (strcmp(text, "loc") == 0) {
		q->view = VIEW_LOC;
	} else if (strcmp(text, "adj-out") == 0) {
		q->view = VIEW_ADJ_OUT;
	} else if (strcmp(text, "adj-in-pre") == 0) {
		q->view = VIEW_ADJ_IN_PRE;
	} else {
		rpc_fail(call, RPC_INVALID_PARAMS, "/view",
			"\"%.64s\" is not one of adj-in-pre, adj-in, loc, adj-out", text);
		return false;
	}
	return true;
}

bool
query_rd(struct query *q, json_t *params, bool required, struct rpc_call *call)
{
	const char *text = NULL;

	q->vpn = family_safi(q->family) == SAFI_VPN;
	if (!rpc_string(params, "rd", &text, call))
		return false;
	q->has_rd = text != NULL;
	if (text != NULL && !q->vpn)
		rpc_fail(call, RPC_INVALID_PARAMS, "/rd", "only valid for a VPN family");
	else if (text != NULL && vpn_rd_parse(text, &q->rd) != 0)
		rpc_fail(call, RPC_INVALID_PARAMS, "/rd", "\"%.64s\" is not a route distinguisher",
			text);
	else if (text == NULL && q->vpn && required)
		rpc_fail(call, RPC_INVALID_PARAMS, "/rd",
			"is missing; a VPN table has a longest match for each route distinguisher");
	else
		return true;
	return false;
}

bool
query_prefix(struct query *q, json_t *params, struct rpc_call *call)
{
	const char *text = NULL;

	if (!rpc_string(params, "prefix", &text, call))
		return false;
	q->has_prefix = text != NULL;
	if (text == NULL ||
		(prefix_parse(text, &q->prefix) == 0 && q->prefix.afi == family_afi(q->family)))
		return true;
	rpc_fail(call, RPC_INVALID_PARAMS, "/prefix",
		"\"%.64s\" is not a prefix of this address family", text);
	return false;
}

/* True if a destination has a path, usable or not. In a read section. */
static bool
has_paths(const struct query *q)
{
	struct dest_view v;
	struct dest_id id = shards_find_rd(&q->table, q->rd, &q->prefix);

	return id.v != DEST_NONE && shards_peek(&q->table, id, &v) && v.paths != NULL &&
	       v.paths->count > 0;
}

/* True if an announcement that is not kept was refused. */
static bool
has_refused(struct query *q) RUNS_ON(role_main)
{
	json_t *refused = query_refused(q);
	bool has = json_array_size(refused) > 0;

	json_decref(refused);
	return has;
}

bool
query_covering(struct query *q, const struct ip_addr *a)
{
	int max = (int)prefix_max_len((enum afi)a->afi), len = max;

	query_section_begin(q);
	for (; len >= 0; len--) {
		q->prefix = prefix_from_addr(a, (uint8_t)len);
		if (has_paths(q))
			break;
	}
	layers_rib_read_end(q->env->layers);
	for (int longer = max; longer > len; longer--) {
		q->prefix = prefix_from_addr(a, (uint8_t)longer);
		if (has_refused(q))
			return true;
	}
	q->prefix = prefix_from_addr(a, (uint8_t)(len >= 0 ? len : max));
	return len >= 0;
}

bool
query_subject(struct query *q, json_t *params, bool *found, struct rpc_call *call)
{
	const char *text = NULL;
	struct ip_addr addr;

	*found = true;
	if (!rpc_string(params, "prefix", &text, call))
		return false;
	if (text == NULL || addr_parse(text, &addr) != 0 ||
		addr.afi != (uint8_t)family_afi(q->family)) {
		if (text != NULL && strchr(text, '/') == NULL)
			rpc_fail(call, RPC_INVALID_PARAMS, "/prefix",
				"\"%.64s\" is not a prefix or an address of this address family",
				text);
		return (text == NULL || strchr(text, '/') != NULL) && query_prefix(q, params, call);
	}
	q->has_prefix = true;
	*found = query_covering(q, &addr);
	return true;
}

static bool
query_read(struct query *q, json_t *params, json_int_t *cursor, struct rpc_call *call)
	RUNS_ON(role_main)
{
	const char *view = NULL, *cursor_text = NULL;
	char *end;

	if (!rpc_family(params, &q->family, call) || !rpc_vrf(q->env, params, &q->vrf, call) ||
		!rpc_string(params, "view", &view, call) || !query_view(q, view, call) ||
		!rpc_peer(q->env, params, q->vrf, &q->peer, call) ||
		!query_rd(q, params, false, call) || !query_prefix(q, params, call) ||
		!rpc_boolean(params, "longer", &q->longer, call) ||
		!rpc_boolean(params, "best", &q->only_best, call) ||
		!rpc_boolean(params, "count", &q->only_count, call) ||
		!rpc_integer(params, "limit", 1, LIMIT_MAX, &q->limit, call) ||
		!rpc_string(params, "cursor", &cursor_text, call))
		return false;
	if (q->peer != NULL)
		q->peer_id = peers_id(q->env->peers, q->peer);
	if (q->view != VIEW_LOC && q->peer == NULL) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/peer",
			"is missing; this view is that of one peer");
		return false;
	}
	if (q->view == VIEW_ADJ_IN_PRE && !q->peer->families[q->family].keep_all_routes) {
		rpc_fail(call, RPC_NOT_KEPT, "/view", "not-kept");
		return false;
	}
	*cursor = cursor_text != NULL ? strtoll(cursor_text, &end, 10) : -1;
	if (cursor_text != NULL &&
		(*cursor_text == '\0' || *end != '\0' || *cursor < 0 || *cursor > UINT32_MAX)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/cursor",
			"is not a \"next\" that rib.routes answered");
		return false;
	}
	return columns_read(q, params, call) && rpc_selector_read(q, params, call);
}

/* Adds a page of `q` to `o`. `first`: the page has no cursor. */
static void
routes_page(struct query *q, uint32_t cursor, bool first, json_t *o) RUNS_ON(role_main)
{
	bool reads_paths = q->selector != NULL || q->only_best || q->only_count;
	uint32_t scan_max = reads_paths ? SCAN_PATHS_MAX : SCAN_MAX, next = cursor, end;
	struct adj_out_section out = {.q = q};

	if (first)
		own_default_add(q, &out);
	if (q->has_prefix && !q->longer && (q->has_rd || !q->vpn)) {
		(void)one_prefix(q, &out);
		if (q->view != VIEW_ADJ_OUT)
			json_object_set_new(o, "refused",
				q->view == VIEW_ADJ_IN_PRE ? query_refused(q)
							   : query_refused_all(q));
		return;
	}
	query_section_begin(q);
	end = shards_limit(&q->table);
	layers_rib_read_end(q->env->layers);
	while (next < end && next - cursor < scan_max && !page_full(q, 0))
		next = scan_section(q, next, end, &out);
	installed_flush(&q->installed);
	if (next < end) {
		char text[16];

		snprintf(text, sizeof(text), "%" PRIu32, next);
		json_object_set_new(o, "next", json_string(text));
	}
}

static json_t *
rib_routes(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct query q = {.env = env, .vrf = VRF_DEFAULT, .limit = LIMIT_DEFAULT};
	json_int_t cursor;
	json_t *o;

	if (!query_read(&q, params, &cursor, call))
		return NULL;
	q.routes = json_array();
	if (q.column_count > 0)
		o = json_pack("{s:[], s:o}", "routes", "rows", q.routes);
	else
		o = json_pack("{s:o}", "routes", q.routes);
	if (query_table(&q)) /* an unused family has no table */
		routes_page(&q, cursor > 0 ? (uint32_t)cursor : 0, cursor < 0, o);
	if (q.only_count)
		json_object_set_new(o, "count", json_integer(q.counted));
	if (rpc_selector_failed(&q)) {
		json_decref(o);
		o = rpc_fail(call, RPC_INVALID_PARAMS, "/as_path",
			"takes too many steps for an AS path of the table: simplify the "
			"expression");
	}
	rpc_selector_destroy(q.selector);
	return o;
}

/* The longest match among the prefixes of the distinguisher that have an eligible path. */
static struct dest_id
vpn_longest(const struct query *q, const struct ip_addr *a, struct dest_view *out)
{
	for (unsigned len = prefix_max_len((enum afi)a->afi) + 1; len-- > 0;) {
		struct prefix p = prefix_from_addr(a, (uint8_t)len);
		struct dest_id id = shards_find_rd(&q->table, q->rd, &p);

		if (id.v != DEST_NONE && shards_peek(&q->table, id, out) && out->paths != NULL &&
			out->paths->eligible > 0)
			return id;
	}
	return (struct dest_id){DEST_NONE};
}

/*
 * The longest prefix that anybody announces, where it is longer than the prefix of `usable` (NULL:
 * none); NULL: there is none.
 */
static json_t *
announced_json(struct rpc_env *env, const struct query *of, const struct ip_addr *a,
	const struct prefix *usable) RUNS_ON(role_main)
{
	struct query q = {.env = env,
		.view = VIEW_LOC,
		.family = of->family,
		.vrf = of->vrf,
		.vpn = of->vpn,
		.has_rd = of->has_rd,
		.rd = of->rd,
		.limit = LIMIT_MAX};

	if (!query_covering(&q, a) || (usable != NULL && q.prefix.len <= usable->len))
		return NULL;
	q.routes = json_array();
	(void)query_paths(&q);
	return json_pack("{s:o, s:o, s:o}", "prefix", rpc_prefix(&q.prefix), "routes", q.routes,
		"refused", query_refused_all(&q));
}

static json_t *
rib_lookup(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct query q = {.env = env, .view = VIEW_LOC, .vrf = VRF_DEFAULT, .limit = LIMIT_MAX};
	const char *text = NULL;
	struct dest_view v = {0};
	struct ip_addr addr;
	struct dest_id id;
	json_t *o, *announced;
	bool usable;

	if (!rpc_family(params, &q.family, call) || !rpc_vrf(env, params, &q.vrf, call) ||
		!query_rd(&q, params, true, call) || !rpc_string(params, "address", &text, call))
		return NULL;
	if (addr_parse(text, &addr) != 0 || addr.afi != (uint8_t)family_afi(q.family))
		return rpc_fail(call, RPC_INVALID_PARAMS, "/address",
			"\"%.64s\" is not an address of this address family", text);
	q.routes = json_array();
	o = json_pack("{s:n, s:o, s:[]}", "prefix", "routes", q.routes, "refused");
	if (!query_table(&q))
		return o;
	query_section_begin(&q);
	id = q.vpn ? vpn_longest(&q, &addr, &v) : shards_longest(&q.table, &addr, &v);
	if (id.v != DEST_NONE && v.paths != NULL) {
		q.shard = query_shard(&q, id);
		json_object_set_new(o, "prefix", rpc_prefix(&v.prefix));
		paths_add(&q, &v);
	}
	layers_rib_read_end(env->layers);
	installed_flush(&q.installed);
	usable = json_is_string(json_object_get(o, "prefix"));
	q.prefix = v.prefix;
	if (usable)
		json_object_set_new(o, "refused", query_refused_all(&q));
	announced = announced_json(env, &q, &addr, usable ? &q.prefix : NULL);
	if (announced != NULL)
		json_object_set_new(o, "announced", announced);
	return o;
}

/* Sums over the shards. The attribute sets of a shard serve all tables of the shard. NULL: no such table, or no such instance any more. */
static json_t *
table_json(const struct rpc_env *env, struct table_id id, json_int_t sets) RUNS_ON(role_main)
{
	json_int_t prefixes = 0, paths = 0, tombstones = 0;
	enum family family;
	struct vrf_id vrf;

	layers_rib_read_begin(env->layers);
	for (unsigned i = 0; i < env->layers->shards.count; i++) {
		const struct dest_table *t = shard_table(env->layers->shards.at[i], id);

		if (t == NULL)
			continue;
		prefixes += dest_count(t);
		paths += dest_path_count(t);
		tombstones += dest_tombstones(t);
	}
	shard_table_key(env->layers->shards.at[0], id, &vrf, &family);
	layers_rib_read_end(env->layers);
	if (family == FAMILY_COUNT || strcmp(apply_vrf_name(env->apply, vrf), "?") == 0)
		return NULL;
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "vrf",
		apply_vrf_name(env->apply, vrf), "family", family_text(family), "prefixes",
		prefixes, "paths", paths, "attribute_sets", sets, "memory_bytes",
		(json_int_t)layers_rib_bytes(env->layers), "tombstones", tombstones);
}

static json_t *
rib_summary(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *tables = json_array(), *shards = json_array();
	json_int_t sets = 0;

	(void)params;
	(void)call;
	for (unsigned i = 0; i < env->layers->shards.count; i++) {
		const struct shard *s = env->layers->shards.at[i];
		json_int_t own = attr_table_count(shard_attrs(s)), prefixes = 0;

		layers_rib_read_begin(env->layers);
		for (uint16_t id = 0; id < shard_table_count(s); id++) {
			const struct dest_table *t = shard_table(s, (struct table_id){id});

			prefixes += t != NULL ? dest_count(t) : 0;
		}
		layers_rib_read_end(env->layers);
		sets += own;
		json_array_append_new(shards,
			json_pack("{s:I, s:I}", "prefixes", prefixes, "attribute_sets", own));
	}
	for (uint16_t i = 0; i < shard_table_count(env->layers->shards.at[0]); i++) {
		json_t *table = table_json(env, (struct table_id){i}, sets);

		if (table != NULL)
			json_array_append_new(tables, table);
	}
	return json_pack("{s:o, s:o}", "tables", tables, "shards", shards);
}

/* ---- the methods ---- */

static const struct rpc_field routes_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF; `default` when absent."},
	{"view", "adj-in-pre|adj-in|loc|adj-out",
		"`adj-in-pre`: as the peer announced them; needs `keep_all_routes`. `adj-in`: "
		"after the "
		"import policy. `loc`: of all peers. `adj-out`: as advertised to the peer."},
	{"peer?", "address", "The peer; required except with `loc`."},
	{"rd?", "string",
		"Of a VPN family: only this route distinguisher, as `64512:1`. An exact `prefix` "
		"without `rd` is looked for in pages, as `longer` is."},
	{"prefix?", "prefix", "Only this prefix."},
	{"longer?", "boolean", "With `prefix`: also more specific prefixes."},
	{"as_path?", "string",
		"Only routes whose AS path matches this regular expression, in which `_` is a "
		"delimiter, as in `as_path_lists`. An expression that takes too many steps is "
		"refused."},
	{"community?", "string",
		"Only routes with this community, large community or extended community."},
	{"best?", "boolean", "Only best routes; no effect with `adj-out`."},
	{"columns?", "string[]",
		"Keys of a route, 1 to 32. The answer then has `rows` instead of `routes`: less to "
		"write and to read where few keys are needed."},
	{"count?", "boolean", "Counts the routes of the page instead of listing them."},
	{"limit?", "integer=1..10000", "Routes in one answer; 1,000 when absent."},
	{"cursor?", "string", "The `next` of an earlier answer."},
	{0},
};
static const struct rpc_field routes_result[] = {
	{"routes", "object[]", "The routes, in no particular order.", rpc_route_fields},
	{"rows?", "any[]",
		"With `columns`: for each route its values in the order of `columns`, null for a "
		"key that the route does not have. `routes` is empty."},
	{"refused?", "object[]",
		"With an exact `prefix`: the announcements of this prefix that were refused in the "
		"present sessions: those that are kept (`keep_all_routes`; with `adj-in-pre` they "
		"are in `routes`), and the last others, as far as they are remembered.",
		rpc_refused_fields},
	{"count?", "integer", "With `count`: routes found for this page."},
	{"next?", "string", "Cursor of the next page; absent on the last page."},
	{0},
};
static const struct rpc_field lookup_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF; `default` when absent."},
	{"rd?", "string", "Route distinguisher; required for a VPN family."},
	{"address", "address", "The address."},
	{0},
};
static const struct rpc_field announced_fields[] = {
	{"prefix", "prefix", "The prefix."},
	{"routes", "object[]", "Its routes, none of them usable.", rpc_route_fields},
	{"refused", "object[]", "Its refused announcements.", rpc_refused_fields},
	{0},
};
static const struct rpc_field lookup_result[] = {
	{"prefix", "string|null",
		"The longest prefix with a usable route that holds the address; null without one."},
	{"routes", "object[]", "Its routes.", rpc_route_fields},
	{"refused", "object[]", "Its refused announcements, as in `rib.routes`.",
		rpc_refused_fields},
	{"announced?", "object",
		"The longest prefix that holds the address and that anybody announces, where it is "
		"longer than `prefix`: no route of it can be used.",
		announced_fields},
	{0},
};
static const struct rpc_field table_fields[] = {
	{"vrf", "string", "VRF."},
	{"family", "family", "Address family."},
	{"prefixes", "integer", "Destinations.", GAUGE("keel_rib_prefixes")},
	{"paths", "integer", "Paths to them.", GAUGE("keel_rib_paths", "Paths to destinations.")},
	{"attribute_sets", "integer", "Attribute sets that the paths share, of all tables."},
	{"memory_bytes", "integer", "Memory of all tables."},
	{"tombstones", "integer", "Destinations without a path whose id is not free yet."},
	{0},
};
static const struct rpc_field shard_fields[] = {
	{"prefixes", "integer", "Destinations."},
	{"attribute_sets", "integer", "Attribute sets."},
	{0},
};
static const struct rpc_field summary_result[] = {
	{"tables", "object[]", "The tables.", table_fields},
	{"shards", "object[]", "The RIB threads; each has a part of every table.", shard_fields},
	{0},
};

const struct rpc_method rpc_rib_methods[] = {
	{"rib.routes", rib_routes, routes_params, routes_result, "Routes of a view, in pages", NULL,
		RPC_READS, RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_NOT_KEPT)},
	{"rib.lookup", rib_lookup, lookup_params, lookup_result,
		"The routes of the longest prefix that holds an address", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"rib.summary", rib_summary, NULL, summary_result, "Sizes of the tables", NULL, RPC_READS,
		0},
	{0},
};
