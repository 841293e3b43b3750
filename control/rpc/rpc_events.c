/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * events.subscribe: notifications `event`, with a bounded queue for each subscriber. The queued text is sent after the client has read all earlier
 * output. Events beyond the bound are counted, and the count is sent (`lost`) when the client reads again.
 */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"
#include "control/base/watchdog.h"

#include "lpm/fib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX (256u << 10) /* octets of one subscriber */
/* Between two checks of generation and alarms while a client subscribes to either. */
#define WATCH_NS 200000000u

#define LOOK_NS 500000000u /* without a subscriber: an alarm is logged within a second */

static const struct rpc_field commit_fields[] = {
	{"event", "commit|confirmed", "A commit took effect, or was confirmed."},
	{"commit", "integer", "Id of the commit."},
	{"revision?", "integer", "Revision of the running document."},
	{"comment?", "string", "Comment of the commit."},
	{"user?", "string", "Author of the commit."},
	{"confirm_s?", "integer", "Seconds within which the commit must be confirmed."},
	{0},
};
static const struct rpc_field session_fields[] = {
	{"event", "up|down", "The session was established, or ended."},
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"reason?", "string", "Why the session ended."},
	{0},
};
static const struct rpc_field refresh_fields[] = {
	{"event", "begin|end", "The refresh began, or ended."},
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"family", "family", "Address family."},
	{"direction", "import|export", "Direction of the refresh."},
	{"job", "integer", "The job."},
	{"reason?", "string", "Why the refresh failed."},
	{0},
};
static const struct rpc_field slow_fields[] = {
	{"event", "begin|end", "The peer became slow, or is slow no more."},
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"family", "family", "Address family."},
	{"reason", "absolute|relative|caught-up|switch-back|limits-off|session-down",
		"`begin`: the limit that was reached. `end`: the peer has caught up, "
		"`switch_back_s` is over, a commit turned both limits off, or the session ended."},
	{0},
};
static const struct rpc_field fib_fields[] = {
	{"generation", "integer", "Generation of the forwarding tables."},
	{"commits", "integer", "Transactions since the start."},
	{0},
};
static const struct rpc_field alarm_fields[] = {
	{"kind", "string", "Kind of the alarm; see ALARMS."},
	{"text", "string", "What is wrong, for people."},
	{"peer?", "string", "The peer, where the alarm is about one."},
	{"vrf?", "string", "Its VRF."},
	{"family?", "family", "Its address family."},
	{"port?", "string", "Of kinds `port` and `duplicate-address`: the port."},
	{"address?", "address", "Of kind `duplicate-address`: the address."},
	{"state?", "down|missing|failed", "Its state."},
	{"reason?", "string|null", "Why."},
	{"event?", "begin|end", "Of kind `thread-late`: the turn is late, or ended."},
	{"thread?", "string", "Of kind `thread-late`: the thread."},
	{"doing?", "string", "Of kind `thread-late`: the work of the turn."},
	{"duration_s?", "number", "Of kind `thread-late`: how long the turn has lasted."},
	{0},
};
static const struct rpc_field trace_fields[] = {
	{"trace", "integer", "Number of the trace."},
	{"event", "received|sent|verdict|decision|export|fib|generation|lost|end",
		"`received`, `sent`: a message. `verdict`: import decided on an announcement. "
		"`decision`: the paths of a destination changed. `export`: an update group "
		"evaluated "
		"the destination. `fib`: a change for the forwarding tables; `generation`: the "
		"changes before are in this generation. `lost`: events were lost. `end`: the trace "
		"has ended."},
	{"at?", "number", "Unix seconds of what happened."},
	{"vrf?", "string", "VRF."},
	{"peer?", "address|null",
		"The peer of a message or a verdict; of `fib` the source of the route, or null."},
	{"type?", "open|update|notification|keepalive|route-refresh|?", "Type of the message."},
	{"length?", "integer", "Octets of the message."},
	{"family?", "family", "Address family."},
	{"prefix?", "prefix", "The prefix."},
	{"rd?", "string", "Route distinguisher, in a VPN family."},
	{"result?", "permit|deny", "Of `verdict`."},
	{"cause?", "string", "Of `verdict`: why import refused it, as in `bgp.peers`."},
	{"policy?", "string", "Of `verdict`, `export`: the policy."},
	{"node?", "integer|null", "`seq` of the node that decided; null when no node matched."},
	{"usable?", "boolean", "Of `decision`: a path may be used."},
	{"best?", "address|null",
		"Of `decision`: peer of the best path; null: none, or this router."},
	{"paths?", "integer", "Of `decision`: number of paths."},
	{"sequence?", "integer", "Of `decision`: number of the change in the journal."},
	{"update_group?", "integer", "Of `export`: the update group."},
	{"advertised?", "boolean", "Of `export`: the group advertises the destination now."},
	{"reason?", "string",
		"Of `export`: why it is not to be advertised, as in `rib.fate`. Of `end`: `time`, "
		"`stopped`, `file-full`, `file-failed`, `peer-removed` or `unread`."},
	{"action?", "set|withdraw", "Of `fib`."},
	{"generation?", "integer", "Of `generation`."},
	{"events?", "integer", "Of `end`: events of the trace."},
	{"messages?", "integer", "Of `end`: messages among them."},
	{"lost?", "integer", "Of `lost`, `end`: events lost so far, of all traces."},
	{"file_error?", "string", "Of `end`: why the capture is not complete."},
	{0},
};
static const struct rpc_field rpki_fields[] = {
	{"event", "cache-up|cache-down|published",
		"`cache-up`: a cache is synchronized. `cache-down`: its connection ended. "
		"`published`: the records in use changed."},
	{"cache?", "string", "Address and port of the cache."},
	{"reason?", "string", "Of `cache-down`: why."},
	{"ipv4?", "integer", "Of `published`: IPv4 records in use."},
	{"ipv6?", "integer", "Of `published`: IPv6 records in use."},
	{"changed?", "integer", "Of `published`: records added or removed."},
	{0},
};
static const struct rpc_field port_fields[] = {
	{"port", "string", "Name of the port."},
	{"state", "up|down|missing|failed", "As in `dataplane.stats`."},
	{"was", "up|down|missing|failed", "The state before."},
	{"reason", "string|null", "Why the port is not `up`."},
	{0},
};
static const struct rpc_field lost_fields[] = {
	{"lost", "integer", "Number of lost events."},
	{0},
};

enum {
	TOPIC_FIB = 4,
	TOPIC_ALARM = 5,
	TOPIC_TRACE = 6,
	TOPIC_COUNT = 9,
	TOPIC_ALL = (1 << TOPIC_COUNT) - 1
};

/* `lost` cannot be subscribed to, and therefore follows the first TOPIC_COUNT topics. */
const struct rpc_topic rpc_topics[] = {
	{"commit", "The configuration changed.", commit_fields},
	{"session", "A session came up or went down.", session_fields},
	{"refresh", "A refresh of one peer and address family began or ended.", refresh_fields},
	{"slow-peer", "A peer became slow in an address family (`slow_peer`), or is slow no more.",
		slow_fields},
	{"fib", "The forwarding tables have a new generation; at most five events a second.",
		fib_fields},
	{"alarm", "An alarm was raised.", alarm_fields},
	{"trace", "What a trace saw; see `trace.start`.", trace_fields},
	{"rpki", "An RPKI cache went up or down, or the records in use changed.", rpki_fields},
	{"port", "The state of a port changed. `dataplane.stats` has its link.", port_fields},
	{"lost",
		"Comes without a subscription: events were lost because the client did not read. "
		"The "
		"queue of a client holds 256 KiB.",
		lost_fields},
	{0},
};

struct subscription {
	unsigned topics; /* bits */
	uint64_t lost; /* events lost since the last event `lost` */
	size_t len, size;
	char *text;
};

/* TOPIC_COUNT: unknown topic. */
static unsigned
topic_find(const char *name)
{
	unsigned t = 0;

	while (t < TOPIC_COUNT && strcmp(rpc_topics[t].topic, name) != 0)
		t++;
	return t;
}

/* One line without the newline; NULL: no memory. */
static char *
event_text(const char *topic, json_t *members)
{
	json_t *params = json_pack("{s:s, s:f}", "topic", topic, "time", wall_s()), *event;
	char *text;

	if (members != NULL)
		json_object_update(params, members);
	event = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);
	text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
	json_decref(event);
	return text;
}

static bool
queue_room(struct subscription *s, size_t len)
{
	size_t size = s->size * 2 > s->len + len ? s->size * 2 : s->len + len;
	char *p;

	if (s->len + len <= s->size)
		return true;
	if (s->len + len > QUEUE_MAX)
		return false;
	p = realloc(s->text, size < QUEUE_MAX ? size : QUEUE_MAX);
	if (p == NULL)
		return false;
	s->text = p;
	s->size = size < QUEUE_MAX ? size : QUEUE_MAX;
	return true;
}

/* False: the event is lost. After a loss all events are lost until the client has got the event `lost`, to keep the order. */
static bool
queue_put(struct subscription *s, const char *text)
{
	size_t len = strlen(text);

	if (s->lost > 0 || !queue_room(s, len + 1))
		return false;
	memcpy(s->text + s->len, text, len);
	s->text[s->len + len] = '\n';
	s->len += len + 1;
	return true;
}

static char *
lost_text(uint64_t lost)
{
	json_t *members = json_pack("{s:I}", "lost", (json_int_t)lost);
	char *text = event_text("lost", members);

	json_decref(members);
	return text;
}

char *
subscription_take(struct rpc_client *c, size_t *len)
{
	struct subscription *s = c->subscription;
	char *text = s->text;

	if (text != NULL) {
		*len = s->len - 1;
		s->text = NULL;
		s->len = s->size = 0;
	} else if (s->lost > 0 && (text = lost_text(s->lost)) != NULL) {
		*len = strlen(text);
		s->lost = 0;
	}
	return text;
}

/* ---- subscriptions ---- */

void
subscription_end(struct rpc_client *c)
{
	struct rpc *r = c->rpc;

	if (c->subscription == NULL)
		return;
	for (struct rpc_client **at = &r->subscribers; *at != NULL; at = &(*at)->next_subscriber) {
		if (*at == c) {
			*at = c->next_subscriber;
			break;
		}
	}
	rpc_traces_leave(&r->env, c);
	free(c->subscription->text);
	free(c->subscription);
	c->subscription = NULL;
}

bool
subscription_has_trace(const struct rpc_client *c)
{
	return c->subscription != NULL && (c->subscription->topics & 1u << TOPIC_TRACE) != 0;
}

static unsigned
topics_wanted(const struct rpc *r)
{
	unsigned bits = 0;

	for (const struct rpc_client *c = r->subscribers; c != NULL; c = c->next_subscriber)
		bits |= c->subscription->topics;
	return bits;
}

void
rpc_event(struct rpc *r, const char *topic, json_t *members)
{
	unsigned t = topic_find(topic);
	struct rpc_client *next;
	char *text = NULL;

	if (r != NULL && t < TOPIC_COUNT && (topics_wanted(r) & 1u << t))
		text = event_text(topic, members);
	json_decref(members);
	if (text == NULL)
		return;
	for (struct rpc_client *c = r->subscribers; c != NULL; c = next) {
		next = c->next_subscriber;
		if (!(c->subscription->topics & 1u << t))
			continue;
		if (!queue_put(c->subscription, text))
			c->subscription->lost++;
		c->ops->events(c);
	}
	free(text);
}

/* ---- polled topics: fib, alarm ---- */

static void
fib_look(struct rpc *r) RUNS_ON(role_main)
{
	struct fib_stats s;

	if (r->env.layers->fib == NULL)
		return;
	fib_stats_get(r->env.layers->fib, &s);
	if (s.generation == r->fib_generation)
		return;
	r->fib_generation = s.generation;
	rpc_event(r, "fib",
		json_pack("{s:I, s:I}", "generation", (json_int_t)s.generation, "commits",
			(json_int_t)s.commits));
}

#define ALARM_KEY_MAX 384

/* Alarms with equal keys are the same alarm: the kind, and the peer, or the port with its address. */
static void
alarm_key(const json_t *alarm, char key[ALARM_KEY_MAX])
{
	static const char *const parts[] = {"kind", "vrf", "peer", "family", "port", "address"};
	size_t len = 0;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *part = json_string_value(json_object_get(alarm, parts[i]));

		len += (size_t)snprintf(
			key + len, ALARM_KEY_MAX - len, "%.60s ", part != NULL ? part : "");
	}
}

static void
alarms_look(struct rpc *r) RUNS_ON(role_main)
{
	json_t *now = rpc_alarms(&r->env), *raised = json_object(), *alarm;
	size_t i;

	json_array_foreach(now, i, alarm)
	{
		const char *kind = json_string_value(json_object_get(alarm, "kind"));
		char key[ALARM_KEY_MAX];

		if (strcmp(kind, WATCHDOG_KIND) == 0)
			continue; /* late_look() */
		alarm_key(alarm, key);
		if (json_object_get(r->alarms, key) == NULL)
			rpc_event(r, "alarm", json_incref(alarm));
		json_object_set_new(raised, key, json_true());
	}
	json_decref(now);
	json_decref(r->alarms);
	r->alarms = raised;
}

/* A late turn has two events, begin and end. For a late turn of main, both are sent after the turn. */
static void
late_event(struct rpc *r, const struct watchdog_late *late) RUNS_ON(role_main)
{
	char text[160];

	rpc_event(r, "alarm",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:f}", "kind", WATCHDOG_KIND, "event",
			late->ended ? "end" : "begin", "thread", late->thread, "doing", late->doing,
			"text", watchdog_text(late, text, sizeof(text)), "duration_s",
			(double)late->ns / 1e9));
}

/* `begins` false: for turns that are already late, only the end is an event. */
static void
late_look(struct rpc *r, bool begins) RUNS_ON(role_main)
{
	uint64_t count = r->env.watchdog != NULL ? watchdog_late_count(r->env.watchdog) : 0;
	struct watchdog_late late;

	for (; r->late_seen < count; r->late_seen++) {
		if (!watchdog_late_get(r->env.watchdog, r->late_seen + 1, &late) ||
			(!begins && late.ended))
			continue;
		r->late_open |= UINT64_C(1) << late.number % WATCHDOG_RECORDS;
		late.ended = false;
		if (begins)
			late_event(r, &late);
	}
	for (uint64_t n = count; n > 0 && n + WATCHDOG_RECORDS > count; n--) {
		uint64_t bit = UINT64_C(1) << n % WATCHDOG_RECORDS;

		if (!(r->late_open & bit) || !watchdog_late_get(r->env.watchdog, n, &late) ||
			!late.ended)
			continue;
		r->late_open &= ~bit;
		late_event(r, &late);
	}
}

static void
watch_fire(struct timer *t) RUNS_ON(role_main)
{
	struct rpc *r = (struct rpc *)(void *)((char *)t - offsetof(struct rpc, watch));
	unsigned wanted = topics_wanted(r);

	if (wanted & 1u << TOPIC_FIB)
		fib_look(r);
	if (wanted & 1u << TOPIC_ALARM) {
		alarms_look(r);
		late_look(r, true);
	}
	r->env.alarm_checks++;
	r->watched = topics_wanted(r) & (1u << TOPIC_FIB | 1u << TOPIC_ALARM);
	/* a new alarm is logged also without subscribers */
	if (!r->watched)
		json_decref(rpc_alarms(&r->env));
	timer_arm(r->thread, &r->watch, r->watched ? WATCH_NS : LOOK_NS);
}

/* The first subscription: the present generation and the present alarms cause no event. */
static void
watch_begin(struct rpc *r) RUNS_ON(role_main)
{
	struct fib_stats s = {0};
	json_t *now, *alarm;
	size_t i;

	if (!(topics_wanted(r) & 1u << TOPIC_ALARM))
		late_look(r, false);
	if (r->watched)
		return;
	r->watched = true;
	if (r->env.layers->fib != NULL)
		fib_stats_get(r->env.layers->fib, &s);
	r->fib_generation = s.generation;
	now = rpc_alarms(&r->env);
	json_object_clear(r->alarms);
	json_array_foreach(now, i, alarm)
	{
		char key[ALARM_KEY_MAX];

		alarm_key(alarm, key);
		json_object_set_new(r->alarms, key, json_true());
	}
	json_decref(now);
	timer_arm(r->thread, &r->watch, WATCH_NS);
}

int
rpc_events_start(struct rpc *r)
{
	r->watch.fire = watch_fire;
	r->alarms = json_object();
	if (r->alarms == NULL)
		return -ENOMEM;
	return timer_arm(r->thread, &r->watch, LOOK_NS);
}

void
rpc_events_stop(struct rpc *r)
{
	if (r->thread != NULL)
		timer_cancel(r->thread, &r->watch);
	json_decref(r->alarms);
}

/* ---- methods ---- */

static bool
topics_read(json_t *params, unsigned *bits, struct rpc_call *call)
{
	json_t *list = json_object_get(params, "topics"), *topic;
	char path[64];
	unsigned t;
	size_t i;

	if (!json_is_array(list)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "/topics", "is not an array");
		return false;
	}
	json_array_foreach(list, i, topic)
	{
		t = json_is_string(topic) ? topic_find(json_string_value(topic)) : TOPIC_COUNT;
		if (t == TOPIC_COUNT) {
			snprintf(path, sizeof(path), "/topics/%zu", i);
			rpc_fail(call, RPC_INVALID_PARAMS, path,
				"is not one of commit, session, refresh, slow-peer, fib, alarm, "
				"trace, rpki, port");
			return false;
		}
		*bits |= 1u << t;
	}
	return true;
}

static json_t *
topics_json(unsigned bits)
{
	json_t *list = json_array();

	for (unsigned t = 0; t < TOPIC_COUNT; t++) {
		if (bits & 1u << t)
			json_array_append_new(list, json_string(rpc_topics[t].topic));
	}
	return json_pack("{s:o}", "topics", list);
}

static json_t *
events_subscribe(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct rpc_client *c = rpc_call_client(call);
	unsigned bits = 0;

	(void)env;
	if (!topics_read(params, &bits, call))
		return NULL;
	if (c->ops->events == NULL)
		return rpc_fail(
			call, RPC_INVALID_REQUEST, "", "events are sent on the Unix sockets only");
	if (c->subscription == NULL && bits != 0) {
		c->subscription = calloc(1, sizeof(*c->subscription));
		if (c->subscription == NULL)
			return NULL;
		c->next_subscriber = c->rpc->subscribers;
		c->rpc->subscribers = c;
	}
	if (bits & (1u << TOPIC_FIB | 1u << TOPIC_ALARM))
		watch_begin(c->rpc);
	if (c->subscription != NULL)
		c->subscription->topics |= bits;
	return topics_json(c->subscription != NULL ? c->subscription->topics : 0);
}

static json_t *
events_unsubscribe(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct rpc_client *c = rpc_call_client(call);
	unsigned bits = 0;

	if (json_object_get(params, "topics") == NULL)
		bits = TOPIC_ALL;
	else if (!topics_read(params, &bits, call))
		return NULL;
	if (c->subscription == NULL)
		return topics_json(0);
	bits = c->subscription->topics &= ~bits;
	if (bits == 0)
		subscription_end(c);
	else if ((bits & 1u << TOPIC_TRACE) == 0)
		rpc_traces_leave(env, c);
	return topics_json(bits);
}

/* rpc_discover.c */
rpc_function rpc_discover;

static const struct rpc_field subscribe_params[] = {
	{"topics", "commit|session|refresh|slow-peer|fib|alarm|rpki|trace|port[]",
		"The topics to add."},
	{0},
};
static const struct rpc_field unsubscribe_params[] = {
	{"topics?", "commit|session|refresh|slow-peer|fib|alarm|rpki|trace|port[]",
		"The topics to remove; all when absent."},
	{0},
};
static const struct rpc_field topics_result[] = {
	{"topics", "string[]", "The topics of this connection now."},
	{0},
};
static const struct rpc_field discover_result[] = {
	{"openrpc", "string", "Version of OpenRPC."},
	{"info", "object", "Title and version."},
	{"methods", "object[]", "The methods."},
	{"components", "object", "The errors."},
	{"x-events", "object[]", "The events: topic, description and schema of `params`."},
	{0},
};

const struct rpc_method rpc_own_methods[] = {
	{"events.subscribe", events_subscribe, subscribe_params, topics_result,
		"Sends events of these topics on this connection",
		"Each event is a notification `event`; see EVENTS. Only on the Unix sockets.",
		RPC_READS, 0},
	{"events.unsubscribe", events_unsubscribe, unsubscribe_params, topics_result,
		"Sends no more events of these topics", NULL, RPC_READS, 0},
	{"rpc.discover", rpc_discover, NULL, discover_result,
		"The OpenRPC document of these methods, with results, errors and events", NULL,
		RPC_READS, 0},
	{0},
};
