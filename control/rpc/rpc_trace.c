/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.start and trace.stop, keel-rpc(7). A trace is a filter on the threads (rib/shard/trace.h). Main
 * reads the taps of all threads each POLL_NS, puts the events in the order of time, and sends each
 * as an event of the topic `trace`, and into the trace's capture file.
 *
 * Main only. The state lives while a trace runs; without a trace, threads have no tap.
 */
#include "control/rpc/rpc_call.h"

#include "control/base/capture.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/session/session.h"
#include "lpm/base/arena.h"
#include "rib/feed/fib_feed.h"
#include "rib/shard/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_NS 20000000u
#define TURN_NS 10000000u /* of main, for one poll */
/* An event waits this long for earlier events of other threads. */
#define LATE_NS 20000000u
#define HELD_MAX 4096u /* events that wait */
#define SECONDS_MAX 3600
#define CAPTURE_MAX (256u << 20) /* octets of a file; then the trace ends */

struct trace {
	uint32_t id; /* 0: free */
	struct trace_filter filter;
	struct ip_addr peer; /* of TRACE_OF_PEER, to notice that the id has a new owner */
	uint64_t end_ns; /* monotonic */
	uint64_t events, messages;
	uint64_t lost_before; /* of all taps, when the trace began */
	uint64_t lost; /* told */
	struct capture *capture; /* NULL: none */
	const struct rpc_client
		*reader; /* without a capture: the subscriber that began the trace; NULL: none */
	bool unread; /* `reader` has left */
};

struct held {
	struct trace_event event;
	uint8_t *octets; /* NULL: none */
};

enum { TAP_SESSION, TAP_FIB, TAP_RIB, TAPS = TAP_RIB + SHARDS_MAX };

struct rpc_traces {
	struct rpc *rpc;
	struct timer timer;
	struct trace_tap *tap[TAPS]; /* NULL: the thread does not exist */
	struct trace at[TRACES_MAX];
	unsigned count;
	struct held held[HELD_MAX];
	unsigned held_count;
};

/* ---- filters on the threads ---- */

/* Sets or clears filter `slot` on all threads; the threads keep their taps while `tapped`. */
struct order {
	struct rpc_traces *t;
	const struct layers *layers;
	unsigned slot;
	const struct trace_filter *filter;
	bool tapped;
};

static void
order_session(void *arg) RUNS_ON(role_session)
{
	const struct order *o = arg;
	struct trace_tap *tap = o->t->tap[TAP_SESSION];

	trace_tap_set(tap, o->slot, o->filter);
	speaker_trace(o->layers->speaker, o->tapped ? tap : NULL);
}

static void
order_fib(void *arg) RUNS_ON(role_fib)
{
	const struct order *o = arg;
	struct trace_tap *tap = o->t->tap[TAP_FIB];

	trace_tap_set(tap, o->slot, o->filter);
	fib_feed_trace(o->layers->feed, o->tapped ? tap : NULL);
}

static void
order_rib(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct order *o = call->arg;
	struct trace_tap *tap = o->t->tap[TAP_RIB + call->index];

	trace_tap_set(tap, o->slot, o->filter);
	shard_trace(call->shard, o->tapped ? tap : NULL);
}

static void
order_all(struct order *o) RUNS_ON(role_main)
{
	struct shard_call call = {.arg = o};

	layers_call_session(o->layers, order_session, o);
	layers_call_shards(o->layers, order_rib, &call);
	if (o->t->tap[TAP_FIB] != NULL)
		layers_call_fib(o->layers, order_fib, o);
}

static uint64_t
lost_of_all(const struct rpc_traces *t)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i < TAPS; i++)
		lost += t->tap[i] != NULL ? trace_lost(t->tap[i]) : 0;
	return lost;
}

/* ---- events as JSON ---- */

static const char *
message_text(uint8_t type)
{
	static const char *const text[] = {
		"?", "open", "update", "notification", "keepalive", "route-refresh"};

	return text[type < sizeof(text) / sizeof(text[0]) ? type : 0];
}

static void
peer_add(const struct rpc_env *env, json_t *o, const char *key, struct peer_id id)
{
	struct shard_peer p;

	if (id.v == PEER_SELF.v || id.v >= PEER_MAX ||
		!shard_peer_peek(env->layers->shards.at[0], id, &p))
		json_object_set_new(o, key, json_null());
	else
		json_object_set_new(o, key, rpc_addr(&p.addr));
}

static void
prefix_add(json_t *o, const struct trace_event *e)
{
	char text[VPN_TEXT_MAX];

	json_object_set_new(o, "family", json_string(family_text((enum family)e->family)));
	json_object_set_new(o, "prefix", rpc_prefix(&e->prefix));
	if (family_safi((enum family)e->family) == SAFI_VPN)
		json_object_set_new(o, "rd", json_string(vpn_rd_format(e->rd, text)));
}

static void
policy_add(json_t *o, const struct trace_event *e)
{
	if (e->policy[0] == '\0')
		return;
	json_object_set_new(o, "policy", json_string(e->policy));
	json_object_set_new(o, "node",
		e->node != 0 && e->node != POLICY_NODE_BLACKHOLE ? json_integer(e->node)
								 : json_null());
}

/* The members of an event, without `trace`. */
static json_t *
event_json(const struct rpc_env *env, const struct held *h) RUNS_ON(role_main)
{
	static const char *const names[TRACE_KINDS] = {
		"received", "sent", "verdict", "decision", "export", "fib", "generation"};
	const struct trace_event *e = &h->event;
	json_t *o =
		json_pack("{s:s, s:f}", "event", names[e->kind], "at", (double)e->time_ns / 1e9);

	if (e->kind != TRACE_GENERATION)
		json_object_set_new(o, "vrf", json_string(apply_vrf_name(env->apply, e->vrf)));
	switch ((enum trace_kind)e->kind) {
	case TRACE_RECEIVED:
	case TRACE_SENT:
		peer_add(env, o, "peer", e->peer);
		json_object_set_new(o, "type", json_string(message_text(h->octets[18])));
		json_object_set_new(o, "length", json_integer(e->octets));
		break;
	case TRACE_VERDICT:
		peer_add(env, o, "peer", e->peer);
		prefix_add(o, e);
		json_object_set_new(o, "result", json_string(e->permit ? "permit" : "deny"));
		if (!e->permit)
			json_object_set_new(o, "cause",
				json_string(refused_text((enum refused_cause)e->reason)));
		policy_add(o, e);
		break;
	case TRACE_DECISION:
		prefix_add(o, e);
		json_object_set_new(o, "usable", json_boolean(e->permit));
		peer_add(env, o, "best", e->peer);
		json_object_set_new(o, "paths", json_integer(e->paths));
		json_object_set_new(o, "sequence", json_integer((json_int_t)e->number));
		break;
	case TRACE_EXPORT:
		json_object_set_new(o, "update_group", json_integer((json_int_t)e->number));
		prefix_add(o, e);
		json_object_set_new(o, "advertised", json_boolean(e->permit));
		if (e->reason != EXPORT_PERMITTED)
			json_object_set_new(o, "reason",
				json_string(update_refusal_text((enum update_refusal)e->reason)));
		policy_add(o, e);
		break;
	case TRACE_FIB:
		prefix_add(o, e);
		json_object_set_new(o, "action", json_string(e->permit ? "set" : "withdraw"));
		peer_add(env, o, "peer", e->peer);
		break;
	case TRACE_GENERATION:
		json_object_set_new(o, "generation", json_integer((json_int_t)e->number));
		break;
	case TRACE_KINDS:
		break;
	}
	return o;
}

/* ---- delivery ---- */

static void
capture_put(struct trace *t, const struct held *h, const json_t *members)
{
	const struct trace_event *e = &h->event;
	struct capture_segment s = {.time_ns = e->time_ns,
		.local = e->local,
		.remote = e->remote,
		.local_port = e->local_port,
		.remote_port = e->remote_port,
		.sent = e->kind == TRACE_SENT,
		.octets = h->octets,
		.len = e->octets};
	char *text;

	if (e->kind == TRACE_RECEIVED || e->kind == TRACE_SENT) {
		capture_segment(t->capture, &s);
		return;
	}
	text = json_dumps(members, JSON_COMPACT);
	if (text != NULL)
		capture_note(t->capture, e->time_ns, text);
	free(text);
}

static void
event_send(struct rpc_traces *r, uint32_t id, const json_t *members) RUNS_ON(role_main)
{
	json_t *o = json_pack("{s:I}", "trace", (json_int_t)id);

	json_object_update(o, (json_t *)(uintptr_t)members);
	rpc_event(r->rpc, "trace", o);
}

static void
held_deliver(struct rpc_traces *r, const struct held *h) RUNS_ON(role_main)
{
	json_t *members = event_json(&r->rpc->env, h);

	for (unsigned i = 0; i < TRACES_MAX; i++) {
		struct trace *t = &r->at[i];

		if (t->id == 0 || !(h->event.traces & 1u << i))
			continue;
		t->events++;
		t->messages += h->event.kind == TRACE_RECEIVED || h->event.kind == TRACE_SENT;
		if (t->capture != NULL)
			capture_put(t, h, members);
		event_send(r, t->id, members);
	}
	json_decref(members);
}

static int
held_before(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return (x->event.time_ns > y->event.time_ns) - (x->event.time_ns < y->event.time_ns);
}

/* Moves events from the taps to `held`, in the order of time. */
static void
taps_read(struct rpc_traces *r)
{
	for (unsigned i = 0; i < TAPS; i++) {
		const uint8_t *octets;
		struct held h;

		while (r->tap[i] != NULL && r->held_count < HELD_MAX &&
			trace_peek(r->tap[i], &h.event, &octets)) {
			h.octets = h.event.octets > 0 ? malloc(h.event.octets) : NULL;
			if (h.event.octets > 0 && h.octets == NULL)
				break; /* the next poll */
			if (h.octets != NULL)
				memcpy(h.octets, octets, h.event.octets);
			r->held[r->held_count++] = h;
			trace_drop(r->tap[i]);
		}
	}
	qsort(r->held, r->held_count, sizeof(r->held[0]), held_before);
}

/* Delivers the events before `until_ns`, until the deadline. */
static void
held_flush(struct rpc_traces *r, uint64_t until_ns, uint64_t deadline_ns) RUNS_ON(role_main)
{
	unsigned done = 0;

	while (done < r->held_count && r->held[done].event.time_ns < until_ns &&
		(done % 16 != 15 || now_ns() < deadline_ns)) {
		held_deliver(r, &r->held[done]);
		free(r->held[done++].octets);
	}
	r->held_count -= done;
	memmove(r->held, r->held + done, r->held_count * sizeof(r->held[0]));
}

/* ---- the end of a trace ---- */

static void
traces_free(struct rpc_traces *r) RUNS_ON(role_main)
{
	timer_cancel(r->rpc->thread, &r->timer);
	for (unsigned i = 0; i < r->held_count; i++)
		free(r->held[i].octets);
	for (unsigned i = 0; i < TAPS; i++)
		trace_tap_destroy(r->tap[i]);
	r->rpc->env.traces = NULL;
	free(r);
}

static void
lost_tell(struct rpc_traces *r, struct trace *t) RUNS_ON(role_main)
{
	uint64_t lost = lost_of_all(r) - t->lost_before;
	json_t *o;

	if (lost == t->lost)
		return;
	t->lost = lost;
	o = json_pack("{s:s, s:I}", "event", "lost", "lost", (json_int_t)lost);
	event_send(r, t->id, o);
	json_decref(o);
}

/* Ends trace `i`, with all events so far; frees `r` after the last trace. Returns the event `end`. */
static json_t *
trace_end(struct rpc_traces *r, unsigned i, const char *reason) RUNS_ON(role_main)
{
	struct trace *t = &r->at[i];
	struct order o = {.t = r, .layers = r->rpc->env.layers, .slot = i, .tapped = r->count > 1};
	const char *failed = NULL;
	json_t *end;
	int err;

	order_all(&o);
	/* the ring of each tap is read once: running traces may still fill the ring */
	for (unsigned n = 0; n < TAPS; n++) {
		taps_read(r);
		held_flush(r, wall_ns(), UINT64_MAX);
	}
	lost_tell(r, t);
	err = capture_close(t->capture);
	if (err != 0)
		failed = strerrordesc_np(-err);
	end = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s*}", "event", "end", "reason", reason,
		"events", (json_int_t)t->events, "messages", (json_int_t)t->messages, "lost",
		(json_int_t)t->lost, "file_error", failed);
	event_send(r, t->id, end);
	log_event(LOG_INFO, "trace-end trace=%u events=%llu lost=%llu reason=%s", t->id,
		(unsigned long long)t->events, (unsigned long long)t->lost, reason);
	*t = (struct trace){0};
	if (--r->count == 0)
		traces_free(r);
	return end;
}

/* Why a trace has to end now; NULL: the trace continues. */
static const char *
trace_over(const struct rpc_traces *r, const struct trace *t) RUNS_ON(role_main)
{
	const struct config_peer *p;

	if (t->unread)
		return "unread";
	if (now_ns() >= t->end_ns)
		return "time";
	if (t->capture != NULL && capture_failed(t->capture) != 0)
		return "file-failed";
	if (t->capture != NULL && capture_octets(t->capture) >= CAPTURE_MAX)
		return "file-full";
	if (t->filter.of != TRACE_OF_PEER)
		return NULL;
	p = peers_config(r->rpc->env.peers, t->filter.peer);
	return p == NULL || !addr_equal(&p->addr, &t->peer) ? "peer-removed" : NULL;
}

static void
poll_fire(struct timer *timer) RUNS_ON(role_main)
{
	struct rpc_traces *r =
		(struct rpc_traces *)(void *)((char *)timer - offsetof(struct rpc_traces, timer));
	struct rpc_env *env = &r->rpc->env;
	uint64_t until =
		wall_ns() - LATE_NS; /* before the taps are read: a missed event is later */

	(void)timer_arm(r->rpc->thread, timer, POLL_NS);
	taps_read(r);
	held_flush(r, until, now_ns() + TURN_NS);
	for (unsigned i = 0; i < TRACES_MAX && env->traces != NULL; i++) {
		const char *over;

		if (r->at[i].id == 0)
			continue;
		lost_tell(r, &r->at[i]);
		over = trace_over(r, &r->at[i]);
		if (over != NULL)
			json_decref(trace_end(r, i, over));
	}
}

void
rpc_traces_end(struct rpc_env *env)
{
	for (unsigned i = 0; i < TRACES_MAX && env->traces != NULL; i++)
		if (env->traces->at[i].id != 0)
			json_decref(trace_end(env->traces, i, "stopped"));
}

void
rpc_traces_leave(struct rpc_env *env, const struct rpc_client *c)
{
	for (unsigned i = 0; env->traces != NULL && i < TRACES_MAX; i++)
		env->traces->at[i].unread |= env->traces->at[i].reader == c;
}

/* ---- methods ---- */

/* 0, -ENOMEM. */
static int
traces_create(struct rpc *rpc) RUNS_ON(role_main)
{
	const struct layers *l = rpc->env.layers;
	struct rpc_traces *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->rpc = rpc;
	r->timer.fire = poll_fire;
	err = trace_tap_create(l->arena_control, &r->tap[TAP_SESSION]);
	if (err == 0 && l->fib != NULL)
		err = trace_tap_create(l->arena_control, &r->tap[TAP_FIB]);
	for (unsigned i = 0; err == 0 && i < l->shards.count; i++)
		err = trace_tap_create(l->arena_control, &r->tap[TAP_RIB + i]);
	if (err == 0)
		err = timer_arm(rpc->thread, &r->timer, POLL_NS);
	if (err != 0)
		traces_free(r);
	else
		rpc->env.traces = r;
	return err;
}

/* Reads `peer`, `prefix` or `policy`. */
static bool
filter_read(struct rpc_env *env, json_t *params, struct trace *t, struct rpc_call *call)
	RUNS_ON(role_main)
{
	const char *prefix = NULL, *policy = NULL;
	const struct config_peer *peer;
	struct trace_filter *f = &t->filter;

	if (!rpc_vrf(env, params, &f->vrf, call) || !rpc_peer(env, params, f->vrf, &peer, call) ||
		!rpc_string(params, "prefix", &prefix, call) ||
		!rpc_string(params, "policy", &policy, call))
		return false;
	if ((peer != NULL) + (prefix != NULL) + (policy != NULL) != 1) {
		rpc_fail(call, RPC_INVALID_PARAMS, "", "expected one of peer, prefix, policy");
		return false;
	}
	if (peer != NULL) {
		f->of = TRACE_OF_PEER;
		f->peer = peers_id(env->peers, peer);
		t->peer = peer->addr;
	}
	if (prefix != NULL) {
		f->of = TRACE_OF_PREFIX;
		if (prefix_parse(prefix, &f->prefix) != 0) {
			rpc_fail(call, RPC_INVALID_PARAMS, "/prefix", "\"%.64s\" is not a prefix",
				prefix);
			return false;
		}
	}
	if (policy != NULL) {
		f->of = TRACE_OF_POLICY;
		if (policy_set_find(apply_running(env->apply)->policies, policy) == NULL) {
			rpc_fail(call, RPC_NOT_FOUND, "/policy", "there is no policy \"%.64s\"",
				policy);
			return false;
		}
		snprintf(f->policy, sizeof(f->policy), "%s", policy);
	}
	return true;
}

static bool
file_open(struct rpc_env *env, struct trace *t, json_t *params, struct rpc_call *call)
	RUNS_ON(role_main)
{
	const char *file = NULL, *reason = NULL;
	char *path = NULL;
	int err;

	if (!rpc_string(params, "file", &file, call))
		return false;
	if (file == NULL)
		return true;
	path = config_output_path(apply_running(env->apply), file, &reason);
	err = path != NULL ? capture_create(path, &t->capture) : -EINVAL;
	if (err != 0)
		rpc_fail(call, RPC_INVALID_PARAMS, "/file", "%s",
			path != NULL ? strerrordesc_np(-err) : reason);
	free(path);
	return err == 0;
}

static json_t *
trace_start(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct rpc *rpc = rpc_call_client(call)->rpc;
	struct trace t = {.filter = {.vrf = VRF_DEFAULT}};
	struct order o = {.layers = env->layers, .tapped = true};
	json_int_t seconds = 0;

	if (!rpc_integer(params, "seconds", 1, SECONDS_MAX, &seconds, call) ||
		!filter_read(env, params, &t, call))
		return NULL;
	if (env->traces != NULL && env->traces->count == TRACES_MAX)
		return rpc_fail(
			call, RPC_TRY_AGAIN, "", "too many traces run (%u); try again", TRACES_MAX);
	if (!file_open(env, &t, params, call))
		return NULL;
	if (env->traces == NULL && traces_create(rpc) != 0) {
		(void)capture_close(t.capture);
		return rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
	}
	t.id = ++env->last_trace;
	if (t.capture == NULL && subscription_has_trace(rpc_call_client(call)))
		t.reader = rpc_call_client(call);
	t.end_ns = now_ns() + (uint64_t)seconds * 1000000000u;
	t.lost_before = lost_of_all(env->traces);
	while (env->traces->at[o.slot].id != 0)
		o.slot++;
	o.t = env->traces;
	o.filter = &t.filter;
	env->traces->at[o.slot] = t;
	env->traces->count++;
	order_all(&o);
	log_event(LOG_INFO, "trace-begin trace=%u seconds=%u", t.id, (unsigned)seconds);
	return json_pack("{s:I}", "trace", (json_int_t)t.id);
}

static json_t *
trace_stop(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	static const char *const dropped[] = {"event", "reason"};
	json_int_t id = 0;
	json_t *end;

	if (!rpc_integer(params, "trace", 1, UINT32_MAX, &id, call))
		return NULL;
	for (unsigned i = 0; env->traces != NULL && i < TRACES_MAX; i++) {
		if (env->traces->at[i].id != (uint32_t)id)
			continue;
		end = trace_end(env->traces, i, "stopped");
		for (unsigned k = 0; k < sizeof(dropped) / sizeof(dropped[0]); k++)
			json_object_del(end, dropped[k]);
		return end;
	}
	return rpc_fail(call, RPC_NOT_FOUND, "/trace", "trace %lld does not run", (long long)id);
}

static const struct rpc_field start_params[] = {
	{"peer?", "address", "Trace this peer: its messages, and what its routes cause."},
	{"prefix?", "prefix",
		"Trace this prefix: messages with the prefix, and what becomes of it."},
	{"policy?", "string", "Trace this route policy: its verdicts on import and export."},
	{"vrf?", "string", "VRF of the peer or of the prefix; `default` when absent."},
	{"seconds", "integer=1..3600", "The trace ends after this time."},
	{"file?", "string",
		"Name of a capture (pcapng) that keeld creates in `management.output_dir`; the "
		"file must not exist. "
		"Messages are TCP segments with the addresses of the session, all other events are "
		"journal entries. At 256 MiB the trace ends."},
	{0},
};
static const struct rpc_field start_result[] = {
	{"trace", "integer", "Number of the trace."},
	{0},
};
static const struct rpc_field stop_params[] = {
	{"trace", "integer", "Number of the trace."},
	{0},
};

static const struct rpc_field stop_result[] = {
	{"events", "integer", "Events of the trace."},
	{"messages", "integer", "Messages among them."},
	{"lost", "integer", "Events lost during the trace, of all traces."},
	{"file_error?", "string", "Why the capture is not complete."},
	{0},
};

const struct rpc_method rpc_trace_methods[] = {
	{"trace.start", trace_start, start_params, start_result,
		"Sends what touches a peer, a prefix or a policy as events `trace`",
		"Exactly one of `peer`, `prefix` and `policy`. At most eight traces run. Each "
		"thread "
		"keeps up to 1 MiB of events; more are lost and counted. A client gets the events "
		"after `events.subscribe` with the topic `trace`. A trace without `file` that a "
		"subscriber began ends with the subscription.",
		RPC_CHANGES, RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_TRY_AGAIN)},
	{"trace.stop", trace_stop, stop_params, stop_result, "Ends a trace", NULL, RPC_CHANGES,
		RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
