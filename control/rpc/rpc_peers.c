/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bgp.peers. Main reads a page of peers by one call to the session thread, and formats the page before the next call. Between two pages main serves
 * other clients. With 4,000 peers and a call for each peer, main was blocked for 1.5 s.
 */
#include "control/rpc/rpc_call.h"

#include "control/config/config.h"
#include "control/session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 16u /* 150 us each to format: other clients wait for about 3 ms */
#define LIMIT_MAX 10000
/* Cursors: configured peers by place in the document, then dynamic peers by id. */
#define DYNAMIC_KEY PEER_MAX
#define WALK_BEGIN "{\"peers\":["
#define WALK_BEGIN_LEN ((off_t)sizeof(WALK_BEGIN) - 1)

struct rpc_page {
	struct rpc_env *env;
	const struct peer_id *id;
	unsigned count;
	bool found[PAGE];
	struct session_view view[PAGE];
};

/* The answer to a call for several pages, one page in each turn of main's loop. */
struct rpc_peers_walk {
	struct rpc_env *env;
	struct rpc_peers_walk *next;
	struct timer again; /* the next page */
	struct rpc_call *call;
	FILE *out; /* the result's text */
	char *text;
	size_t len;
	uint32_t cursor; /* 0: no page follows this answer */
	unsigned at, count;
	struct peer_id id[];
};

static void
page_peek(void *arg) RUNS_ON(role_session)
{
	struct rpc_page *p = arg;

	for (unsigned i = 0; i < p->count; i++) {
		p->found[i] = session_peek(p->env->layers->speaker, p->id[i], &p->view[i]);
		session_peek_socket(p->env->layers->speaker, p->id[i], &p->view[i]);
	}
}

/* The sessions of the first `count` peers, at most a page. Lent until the next call. NULL: out of memory. */
static const struct rpc_page *
page_read(struct rpc_env *env, const struct peer_id *id, unsigned count) RUNS_ON(role_main)
{
	struct rpc_page *p = env->page;

	if (p == NULL)
		p = env->page = malloc(sizeof(*p));
	if (p == NULL)
		return NULL;
	p->env = env;
	p->id = id;
	p->count = count < PAGE ? count : PAGE;
	layers_call_session(env->layers, page_peek, p);
	return p;
}

/* NULL: the peer is gone, or out of memory. */
static json_t *
page_peer(const struct rpc_page *page, unsigned i) RUNS_ON(role_main)
{
	const struct config_peer *p = peers_config(page->env->peers, page->id[i]);

	return p != NULL && page->found[i]
		       ? rpc_peer_json(page->env, page->id[i], p, &page->view[i])
		       : NULL;
}

/* ---- selection of peers ---- */

static uint32_t
peer_key(const struct rpc_env *env, struct peer_id id, const struct config_peer *p)
	RUNS_ON(role_main)
{
	return p->dynamic ? (uint32_t)DYNAMIC_KEY + id.v
			  : (uint32_t)(p - apply_running(env->apply)->peers) + 1;
}

struct query {
	bool all_vrfs;
	struct vrf_id vrf; /* unless all_vrfs */
	const char *group;
	const struct config_peer *peer; /* NULL: all */
	json_int_t limit; /* 0: none */
	uint32_t cursor; /* 0: from the beginning */
};

static bool
query_read(struct rpc_env *env, json_t *params, struct query *q, struct rpc_call *call)
	RUNS_ON(role_main)
{
	const char *cursor = NULL;
	unsigned long key;
	char *end;

	if (!rpc_vrf(env, params, &q->vrf, call) || !rpc_group(env, params, &q->group, call) ||
		!rpc_peer(env, params, q->vrf, &q->peer, call) ||
		!rpc_integer(params, "limit", 1, LIMIT_MAX, &q->limit, call) ||
		!rpc_string(params, "cursor", &cursor, call))
		return false;
	q->all_vrfs = q->peer == NULL && json_object_get(params, "vrf") == NULL;
	if (cursor == NULL)
		return true;
	key = strtoul(cursor, &end, 10);
	if (*cursor < '0' || *cursor > '9' || *end != '\0' || key >= DYNAMIC_KEY + PEER_MAX) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/cursor",
			"is not a \"next\" that bgp.peers answered");
		return false;
	}
	q->cursor = (uint32_t)key;
	return true;
}

/* The matching peers, in order. *next: the cursor after the last peer, 0 when no peer follows. */
static unsigned
query_run(struct rpc_env *env, const struct query *q, struct peer_id *out, uint32_t *next)
	RUNS_ON(role_main)
{
	unsigned count = 0;
	uint32_t last = 0;

	*next = 0;
	for (struct peer_id id = {0}; (id = peers_next(env->peers, id)).v != 0;) {
		const struct config_peer *p = peers_config(env->peers, id);
		uint32_t key = peer_key(env, id, p);

		if (key <= q->cursor || (!q->all_vrfs && p->vrf.v != q->vrf.v) ||
			(q->peer != NULL && p != q->peer) ||
			(q->group != NULL && (p->group == NULL || strcmp(p->group, q->group) != 0)))
			continue;
		if (q->limit > 0 && count == q->limit) {
			*next = last;
			break;
		}
		out[count++] = id;
		last = key;
	}
	return count;
}

/* ---- one page ---- */

static void
answer_end(struct rpc_env *env, json_t *answer, uint32_t next)
{
	struct hist_summary late, turns;
	char cursor[16];

	speaker_keepalive_late(env->layers->speaker, &late);
	speaker_turns(env->layers->speaker, &turns);
	json_object_set_new(answer, "keepalive_late_ns", rpc_hist(&late));
	json_object_set_new(answer, "turn_ns", rpc_hist(&turns));
	if (next == 0)
		return;
	snprintf(cursor, sizeof(cursor), "%u", next);
	json_object_set_new(answer, "next", json_string(cursor));
}

static json_t *
answer_at_once(struct rpc_env *env, const struct peer_id *id, unsigned count, uint32_t next)
	RUNS_ON(role_main)
{
	json_t *peers = json_array(), *answer = json_pack("{s:o}", "peers", peers);

	for (unsigned at = 0; at < count; at += PAGE) {
		const struct rpc_page *page = page_read(env, id + at, count - at);

		for (unsigned i = 0; page != NULL && i < page->count; i++) {
			json_t *peer = page_peer(page, i);

			if (peer != NULL)
				json_array_append_new(peers, peer);
		}
	}
	answer_end(env, answer, next);
	return answer;
}

/* ---- several pages ---- */

/* False: out of memory. */
static bool
walk_finish(struct rpc_peers_walk *w)
{
	json_t *end = json_object();
	char *text;
	bool good;

	answer_end(w->env, end, w->cursor);
	text = json_dumps(end, JSON_COMPACT);
	json_decref(end);
	/* The rest of the object, without the opening brace. */
	good = text != NULL && fprintf(w->out, "],%s", text + 1) > 0 && ferror(w->out) == 0;
	free(text);
	return good;
}

static void
walk_end(struct rpc_peers_walk *w, bool whole) RUNS_ON(role_main)
{
	for (struct rpc_peers_walk **at = &w->env->walks; *at != NULL; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	timer_cancel(w->env->layers->main_thread, &w->again);
	whole = whole && walk_finish(w);
	if (fclose(w->out) == 0 && whole)
		rpc_reply_text(w->call, w->text);
	else
		rpc_reply(w->call, NULL); /* out of memory, or the daemon stops */
	free(w->text);
	free(w);
}

static void
walk_page(struct timer *t) RUNS_ON(role_main)
{
	struct rpc_peers_walk *w =
		(struct rpc_peers_walk *)(void *)((char *)t -
						  offsetof(struct rpc_peers_walk, again));
	const struct rpc_page *page = page_read(w->env, w->id + w->at, w->count - w->at);
	bool good = page != NULL && !rpc_call_client(w->call)->closed;

	for (unsigned i = 0; good && i < page->count; i++) {
		json_t *peer = page_peer(page, i);

		if (peer != NULL && ftello(w->out) > WALK_BEGIN_LEN)
			fputc(',', w->out);
		good = peer == NULL || json_dumpf(peer, w->out, JSON_COMPACT) == 0;
		json_decref(peer);
	}
	w->at += page != NULL ? page->count : 0;
	if (!good || w->at >= w->count)
		walk_end(w, good);
	else if (timer_arm(w->env->layers->main_thread, &w->again, 0) != 0)
		walk_end(w, false);
}

void
rpc_peers_end(struct rpc_env *env)
{
	while (env->walks != NULL)
		walk_end(env->walks, false);
	free(env->page);
	env->page = NULL;
}

/* NULL: deferred, or out of memory. */
static json_t *
walk_start(struct rpc_env *env, const struct peer_id *id, unsigned count, uint32_t next,
	struct rpc_call *call) RUNS_ON(role_main)
{
	struct rpc_peers_walk *w = calloc(1, sizeof(*w) + count * sizeof(w->id[0]));

	if (w == NULL)
		return NULL;
	*w = (struct rpc_peers_walk){.env = env,
		.next = env->walks,
		.again.fire = walk_page,
		.call = call,
		.cursor = next,
		.count = count};
	memcpy(w->id, id, count * sizeof(w->id[0]));
	w->out = open_memstream(&w->text, &w->len);
	if (w->out != NULL && fputs(WALK_BEGIN, w->out) >= 0 &&
		timer_arm(env->layers->main_thread, &w->again, 0) == 0) {
		env->walks = w;
		return rpc_hold(call);
	}
	if (w->out != NULL)
		fclose(w->out);
	free(w->text);
	free(w);
	return NULL;
}

/* ---- calls of other files ---- */

json_t *
rpc_bgp_peers(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct query q = {.vrf = VRF_DEFAULT};
	struct peer_id ids[PEER_MAX];
	uint32_t next;
	unsigned count;

	if (!query_read(env, params, &q, call))
		return NULL;
	count = query_run(env, &q, ids, &next);
	return count <= PAGE ? answer_at_once(env, ids, count, next)
			     : walk_start(env, ids, count, next, call);
}
