/* SPDX-License-Identifier: BSD-3-Clause */
/* Alarms: faults that last until an operator acts. Result of system.info, and event `alarm`. */
#include "control/rpc/rpc_impl.h"

#include "control/apply/apply.h"
#include "control/base/log.h"
#include "control/apply/memory_guard.h"
#include "control/session/session.h"
#include "control/base/watchdog.h"
#include "control/bmp/bmp.h"
#include "control/mrt/mrt.h"
#include "control/rpki/rpki.h"
#ifdef KEEL_DATAPLANE
#include "dataplane/port.h"
#endif
#include "lpm/fib.h"
#include "lpm/path_list.h"
#include "rib/attr.h"
#include "rib/dest.h"
#include "rib/fib_feed.h"
#include "rib/nexthop.h"
#include "rib/policy.h"
#include "rib/vrp.h"

#include <stdio.h>

enum {
	ALARM_RIB,
	ALARM_NOT_INSTALLED,
	ALARM_FIB_FEED,
	ALARM_POLICY,
	ALARM_HASH,
	ALARM_MEMORY,
	ALARM_LABELS,
	ALARM_SWAPS,
	ALARM_MAX_ROUTES,
	ALARM_NETNS,
	ALARM_RPKI,
	ALARM_PORT_MTU,
	ALARM_PORTS,
	ALARM_BMP,
	ALARM_MRT,
	ALARM_COUNTERS, /* the alarms above are raised while a counter is not 0 */
	ALARM_MAX_PREFIXES = ALARM_COUNTERS,
	ALARM_MAX_PREFIXES_OUT,
	ALARM_REFUSED,
	ALARM_LATE,
	ALARM_KINDS
};
static_assert(ALARM_COUNTERS <= sizeof(((struct rpc_env *)NULL)->alarm_since_s) / sizeof(double),
	"room for all");

/* keel-rpc(7) (scripts/reference) is made from this table. */
static const struct alarm_kind {
	const char *kind;
	const char *text; /* for a counter: the text of the alarm, with the number */
	const char *help; /* cause, and what to do */
} alarms[ALARM_KINDS] = {
	[ALARM_RIB] = {"rib",
		"%llu changes of routes were lost for lack of memory or were malformed",
		"Tables may differ from what the peers announced. Give keeld more memory and "
		"restart "
		"it."},
	[ALARM_NOT_INSTALLED] = {"not-installed",
		"the forwarding table has no room for %llu prefixes",
		"These prefixes are not forwarded and not advertised. Increase "
		"`dataplane.memory_mb`, or "
		"accept fewer prefixes by policy. `rib.routes` marks them `installed: false`."},
	[ALARM_FIB_FEED] = {"fib-feed", "%llu routes could not be handed to the forwarding table",
		"The forwarding table lacks these routes for lack of memory. Give keeld more "
		"memory; "
		"`fib.audit` lists the differences."},
	[ALARM_POLICY] = {"policy",
		"%llu times a regular expression exceeded its match limit, and the route was "
		"rejected",
		"A regular expression of an AS-path list needs too many steps. The text names "
		"policy, list "
		"and peer; simplify the expression."},
	[ALARM_HASH] = {"hash-probe",
		"a search in a hash table passed %llu entries: memory is too short for its index, "
		"or a "
		"peer knows the secret of the hashes; restart keeld to draw another secret",
		"Searches take long. Give keeld more memory, or restart it: the secret of the "
		"hashes is "
		"drawn at each start."},
	[ALARM_MEMORY] = {"memory",
		"memory ran short; the sessions of the peers that took most were ended: %llu",
		"Raise the limit of memory, or set `max_prefixes` for these peers. The log event "
		"`memory-short` names them."},
	[ALARM_LABELS] = {"labels", NULL,
		"VPN instances have no MPLS label, or a broken file of labels was kept. The text "
		"names the file and the fault."},
	[ALARM_SWAPS] = {"swapped-labels", NULL,
		"VPN routes that would leave with our next hop are not advertised, because they "
		"have no MPLS label of this router. The text says why. `no_labels` in `bgp.peers` "
		"counts refused routes; keeld tries again when labels are free."},
	[ALARM_MAX_ROUTES] = {"max-routes", NULL,
		"VPN instances have more routes than `max_routes` permits, or would have more. "
		"Raise the limit, or import fewer routes. `vrf.list` counts the routes."},
	[ALARM_NETNS] = {"namespace", NULL,
		"The network namespace of a VPN instance is missing, so sessions and ports of the "
		"instance stay down. The text names the namespace and the fault; keeld tries again "
		"for sessions."},
	[ALARM_RPKI] = {"rpki", NULL,
		"No RPKI cache has been synchronized for 5 s or longer. The last records stay in "
		"use until they expire; then every route is `not-found`. `rpki.summary` has the "
		"error of each cache."},
	[ALARM_PORT_MTU] = {"port-mtu", NULL,
		"The MTU of a port and of its kernel interface differ, so one side sends packets "
		"that the other side loses. The text names the port and both values. Set the MTU "
		"of "
		"the interface, or `mtu` of the port, to a value within the limits of the device."},
	[ALARM_PORTS] = {"ports", NULL,
		"A port is missing or failed, so sessions over the port are down. The text names "
		"the port. `dataplane.stats` has the state of each port, and the log the reason."},
	[ALARM_BMP] = {"bmp", NULL,
		"A BMP collector has been without a connection for 30 s or longer. keeld tries "
		"again at most every 60 s. `bmp.summary` has the error of each collector."},
	[ALARM_MRT] = {"mrt", NULL,
		"A file of the key `mrt` cannot be written, or records were lost in the last 60 s. "
		"The text names the file and the error. Make room on the disk, or correct the "
		"folder; keeld tries again at the next record, and at the next interval. "
		"`mrt.summary` counts lost records."},
	[ALARM_MAX_PREFIXES] = {"max-prefixes", NULL,
		"A peer is near its limit `max_prefixes`, or exceeded it. Raise the limit, or ask "
		"the "
		"operator of the peer."},
	[ALARM_MAX_PREFIXES_OUT] = {"max-prefixes-out", NULL,
		"This router advertises nearly `max_prefixes_out` prefixes to a peer, or more. "
		"Check the "
		"export policy of the peer, or raise the limit; `reset bgp` starts a session that "
		"the "
		"limit has ended."},
	[ALARM_REFUSED] = {"routes-refused", NULL,
		"Routes of a peer were refused by another cause than policy. `refused` in "
		"`bgp.peers` "
		"counts the causes; `bgp.faults` has faulty messages."},
	[ALARM_LATE] = {WATCHDOG_KIND, NULL,
		"A turn of a thread lasts 1 s or longer, so sessions may be delayed. The text "
		"names thread "
		"and work. Check that other processes leave the control CPUs to keeld."},
};

/* `text` NULL: the alarm is off. */
static void
alarm_set(struct rpc_env *env, json_t *list, unsigned a, const char *text)
{
	if (text == NULL) {
		env->alarm_since_s[a] = 0;
		return;
	}
	if (env->alarm_since_s[a] == 0) {
		env->alarm_since_s[a] = wall_s();
		log_event(LOG_WARNING, "alarm kind=%s text=\"%s\"", alarms[a].kind, text);
	}
	json_array_append_new(list, json_pack("{s:f, s:s, s:s}", "time", env->alarm_since_s[a],
					    "kind", alarms[a].kind, "text", text));
}

/* `more`: appended to the text, helps the operator to find the place. */
static void
alarm_look_at(struct rpc_env *env, json_t *list, unsigned a, uint64_t n, const char *more)
{
	char text[480];
	size_t len;

	if (n == 0) {
		alarm_set(env, list, a, NULL);
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	len = (size_t)snprintf(text, sizeof(text), alarms[a].text, (unsigned long long)n);
#pragma GCC diagnostic pop
	snprintf(text + len, sizeof(text) - len, "%s", more);
	alarm_set(env, list, a, text);
}

static void
alarm_look(struct rpc_env *env, json_t *list, unsigned a, uint64_t n)
{
	alarm_look_at(env, list, a, n, "");
}

static void
policy_look(struct rpc_env *env, json_t *list)
{
	struct policy_match_error last;
	uint64_t n = policy_match_errors(&last);
	char more[240], peer[ADDR_TEXT_MAX] = "none";

	if (last.peer.afi != AFI_NONE)
		addr_format(&last.peer, peer);
	snprintf(more, sizeof(more), "; last in policy %s, AS-path list %s, peer %s", last.policy,
		last.list, peer);
	alarm_look_at(env, list, ALARM_POLICY, n, more);
}

struct longest {
	uint32_t destinations, attribute_sets, exported_sets, next_hops, path_lists;
};

static void
longest_add(uint32_t *to, const struct hash_probes *p)
{
	uint32_t n = hash_probes_longest(p);

	if (n > *to)
		*to = n;
}

static struct longest
longest_of(const struct rpc_env *env) RUNS_ON(role_main)
{
	struct longest l = {0};

	for (unsigned i = 0; i < env->layers->shards.count; i++) {
		const struct shard *s = env->layers->shards.at[i];

		layers_rib_read_begin(env->layers);
		for (uint16_t id = 0; id < shard_table_count(s); id++) {
			const struct dest_table *t = shard_table(s, (struct table_id){id});

			if (t != NULL)
				longest_add(&l.destinations, dest_table_probes(t));
		}
		layers_rib_read_end(env->layers);
		longest_add(&l.attribute_sets, attr_table_probes(shard_attrs(s)));
		longest_add(&l.next_hops, shard_next_hop_probes(s));
	}
	if (env->layers->speaker != NULL)
		longest_add(&l.exported_sets, speaker_exported_probes(env->layers->speaker));
	if (env->layers->nexthops != NULL)
		longest_add(&l.next_hops, nexthop_probes(env->layers->nexthops));
	if (env->layers->fib != NULL)
		l.path_lists = path_lists_longest_probe(fib_path_lists(env->layers->fib));
	return l;
}

/* The number for the alarm: 0 when all searches were short. */
static uint64_t
longest_too_long(const struct rpc_env *env) RUNS_ON(role_main)
{
	struct longest l = longest_of(env);
	const uint32_t all[] = {
		l.destinations, l.attribute_sets, l.exported_sets, l.next_hops, l.path_lists};
	uint32_t longest = 0;

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		longest = all[i] > longest ? all[i] : longest;
	return longest > HASH_PROBE_BOUND ? longest : 0;
}

json_t *
rpc_hash_probes(const struct rpc_env *env)
{
	struct longest l = longest_of(env);

	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "destinations", (json_int_t)l.destinations,
		"attribute_sets", (json_int_t)l.attribute_sets, "exported_sets",
		(json_int_t)l.exported_sets, "next_hops", (json_int_t)l.next_hops, "path_lists",
		(json_int_t)l.path_lists);
}

/* ---- alarms of a peer's family ---- */

/* Alarms raised in this check; `before` has the alarms of the last check. */
struct peer_alarms {
	struct rpc_env *env;
	json_t *list, *since;
	const struct config_peer *peer;
	struct peer_id id;
	enum family family;
};

static void
peer_alarm(struct peer_alarms *a, const char *kind, const char *text)
{
	char key[64 + ADDR_TEXT_MAX];
	double since = 0;
	json_t *o;

	snprintf(key, sizeof(key), "%s %u %u", kind, (unsigned)a->id.v, (unsigned)a->family);
	since = json_real_value(json_object_get(a->env->peer_alarms_since, key));
	if (since == 0) {
		since = wall_s();
		log_event(LOG_WARNING, "alarm kind=%s peer=%s vrf=%s family=%s text=\"%s\"", kind,
			a->peer->addr_text, a->peer->vrf_name, family_text(a->family), text);
	}
	json_object_set_new(a->since, key, json_real(since));
	o = json_pack("{s:f, s:s, s:s, s:s, s:s, s:s}", "time", since, "kind", kind, "text", text,
		"peer", a->peer->addr_text, "vrf", a->peer->vrf_name, "family",
		family_text(a->family));
	json_array_append_new(a->list, o);
}

static void
limit_look(struct peer_alarms *a)
{
	enum limit_level level = speaker_limit_level(a->env->layers->speaker, a->id, a->family);
	const struct config_family *f = &a->peer->families[a->family];
	struct adj_rib_in_counts counts;
	char text[200];

	if (level == LIMIT_KEPT || f->max_prefixes == 0)
		return;
	shards_peer_counts(&a->env->layers->shards, a->id, a->family, &counts);
	if (level == LIMIT_NEAR)
		snprintf(text, sizeof(text),
			"peer %s %s has %llu prefixes, %u %% of max_prefixes %u or more",
			a->peer->addr_text, family_text(a->family),
			(unsigned long long)counts.counted, f->max_prefixes_threshold,
			f->max_prefixes);
	else
		snprintf(text, sizeof(text), "peer %s %s announced more than max_prefixes %u",
			a->peer->addr_text, family_text(a->family), f->max_prefixes);
	peer_alarm(a, alarms[ALARM_MAX_PREFIXES].kind, text);
}

static void
limit_out_look(struct peer_alarms *a)
{
	enum limit_level level = speaker_limit_out_level(a->env->layers->speaker, a->id, a->family);
	const struct config_family *f = &a->peer->families[a->family];
	char text[200];

	if (level == LIMIT_KEPT || f->max_prefixes_out == 0)
		return;
	if (level == LIMIT_NEAR)
		snprintf(text, sizeof(text), "peer %s %s gets %u %% of max_prefixes_out %u or more",
			a->peer->addr_text, family_text(a->family), f->max_prefixes_out_threshold,
			f->max_prefixes_out);
	else
		snprintf(text, sizeof(text), "peer %s %s gets more than max_prefixes_out %u",
			a->peer->addr_text, family_text(a->family), f->max_prefixes_out);
	peer_alarm(a, alarms[ALARM_MAX_PREFIXES_OUT].kind, text);
}

/* True if the peer also had paths without a valid next hop in the last check. Records the present check. */
static bool
next_hop_again(struct peer_alarms *a)
{
	char key[64];

	snprintf(key, sizeof(key), "next-hop %u %u", (unsigned)a->id.v, (unsigned)a->family);
	json_object_set_new(a->since, key, json_true());
	return json_object_get(a->env->peer_alarms_since, key) != NULL;
}

/* Routes refused by causes that raise an alarm (rib/refused.h). The text names the most frequent causes. */
static void
refused_look(struct peer_alarms *a)
{
	uint64_t count[REFUSED_CAUSES], sum = 0;
	char text[320];
	size_t len;

	if (!shards_peer_refused(&a->env->layers->shards, a->id, a->family, count))
		return;
	for (enum refused_cause c = 0; c < REFUSED_CAUSES; c++) {
		if (!refused_alarms(c))
			count[c] = 0;
		sum += count[c];
	}
	/* The next hop of a new path needs a moment to be resolved: alarm only if unresolved in two checks. */
	if (sum > 0 && sum == count[REFUSED_NEXT_HOP] && !next_hop_again(a))
		return;
	if (sum == 0)
		return;
	len = (size_t)snprintf(text, sizeof(text),
		"peer %s %s: %llu prefixes were refused:", a->peer->addr_text,
		family_text(a->family), (unsigned long long)sum);
	for (unsigned i = 0; i < 3; i++) {
		enum refused_cause most = REFUSED_NOT;

		for (enum refused_cause c = 0; c < REFUSED_CAUSES; c++)
			if (count[c] > count[most])
				most = c;
		if (count[most] == 0)
			break;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %llu",
			i > 0 ? "," : "", refused_text(most), (unsigned long long)count[most]);
		count[most] = 0;
	}
	peer_alarm(a, alarms[ALARM_REFUSED].kind, text);
}

/* An idle or faultless peer costs one bit, for any number of shards. */
static void
peers_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	struct peer_alarms a = {.env = env, .list = list, .since = json_object()};
	uint64_t ailing[FAMILY_COUNT][PEER_WORDS];

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		for (unsigned w = 0; w < PEER_WORDS; w++)
			ailing[f][w] = shards_ailing(&env->layers->shards, (enum family)f, w);

	for (a.id = (struct peer_id){0}; (a.id = peers_next(env->peers, a.id)).v != 0;) {
		a.peer = peers_config(env->peers, a.id);
		for (a.family = 0; a.peer != NULL && a.family < FAMILY_COUNT; a.family++) {
			if (!a.peer->families[a.family].enabled)
				continue;
			limit_look(&a);
			limit_out_look(&a);
			if (ailing[a.family][a.id.v / 64] >> a.id.v % 64 & 1)
				refused_look(&a);
		}
	}
	json_decref(env->peer_alarms_since);
	env->peer_alarms_since = a.since;
}

/* Instances at the limit max_routes. */
static void
max_routes_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	const struct config *c = apply_running(env->apply);
	char text[480];
	size_t len = 0;

	for (unsigned i = 0; c != NULL && i < c->vrf_count; i++) {
		const struct config_vrf *vrf = &c->vrfs[i];
		struct shard_instance_counts n;
		uint64_t routes;

		if (vrf->max_routes == 0)
			continue;
		routes = rpc_vrf_routes(env, vrf->id, &n);
		if (n.refused == 0 && routes <= vrf->max_routes)
			continue;
		if (len > sizeof(text) - 160) {
			(void)snprintf(text + len, sizeof(text) - len, "; and more instances");
			break;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"%sinstance %s has %llu routes with max_routes %u, and refuses %llu",
			len > 0 ? "; " : "", vrf->name, (unsigned long long)routes, vrf->max_routes,
			(unsigned long long)n.refused);
	}
	alarm_set(env, list, ALARM_MAX_ROUTES, len > 0 ? text : NULL);
}

#ifdef KEEL_DATAPLANE
/* Ports whose kernel interface has a different MTU. */
static void
port_mtu_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	char text[480];
	size_t len = 0;

	for (uint16_t p = 0; p < port_count(); p++) {
		unsigned mtu = port_mtu(p), own = port_mtu_own(p);

		if (!port_runs(p) || own == 0 || own == mtu)
			continue;
		if (len > sizeof(text) - 120) {
			(void)snprintf(text + len, sizeof(text) - len, "; and more ports");
			break;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"%sport %s has MTU %u, and its interface %u", len > 0 ? "; " : "",
			port_name(p), mtu, own);
	}
	alarm_set(env, list, ALARM_PORT_MTU, len > 0 ? text : NULL);
}
#endif

/* Late turns recorded by the watchdog, if they raise an alarm. */
static void
late_look(struct rpc_env *env, json_t *list)
{
	struct watchdog_late late;
	char text[160];

	if (env->watchdog == NULL)
		return;
	for (uint64_t n = watchdog_late_count(env->watchdog);
		watchdog_late_get(env->watchdog, n, &late); n--) {
		if (late.alarm)
			json_array_append_new(
				list, json_pack("{s:f, s:s, s:s}", "time", late.since_s, "kind",
					      alarms[ALARM_LATE].kind, "text",
					      watchdog_text(&late, text, sizeof(text))));
	}
}

static bool
thread_stuck(struct rpc_env *env)
{
	struct watchdog_late late;

	if (env->watchdog == NULL)
		return false;
	for (uint64_t n = watchdog_late_count(env->watchdog);
		watchdog_late_get(env->watchdog, n, &late); n--) {
		if (!late.ended)
			return true;
	}
	return false;
}

static void
rpki_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	const struct rpki *r = apply_rpki(env->apply);
	unsigned caches;
	char text[160];

	if (!rpki_unsynced(r, &caches)) {
		alarm_set(env, list, ALARM_RPKI, NULL);
		return;
	}
	snprintf(text, sizeof(text),
		"none of %u RPKI caches is synchronized; %zu records are in use", caches,
		vrps_count(rpki_vrps(r), AFI_NONE));
	alarm_set(env, list, ALARM_RPKI, text);
}

#ifdef KEEL_DATAPLANE
/* Ports without their device. */
static void
ports_look(struct rpc_env *env, json_t *list)
{
	char text[480];
	size_t len = 0;

	for (uint16_t p = 0; env->layers->fib != NULL && p < port_count(); p++) {
		enum port_state s = port_state(p);

		if (!port_exists(p) || (s != PORT_MISSING && s != PORT_FAILED))
			continue;
		if (len > sizeof(text) - 80) {
			(void)snprintf(text + len, sizeof(text) - len, "; and more ports");
			break;
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%sport %s %s",
			len > 0 ? "; " : "", port_name(p),
			s == PORT_MISSING ? "is missing" : "has failed");
	}
	alarm_set(env, list, ALARM_PORTS, len > 0 ? text : NULL);
}
#endif
static void
bmp_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	unsigned down, count = bmp_collectors(apply_bmp(env->apply), &down);
	char text[96];

	snprintf(text, sizeof(text), "%u of %u BMP collectors are not connected", down, count);
	alarm_set(env, list, ALARM_BMP, down > 0 ? text : NULL);
}

static void
mrt_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	char text[320];

	alarm_set(env, list, ALARM_MRT,
		mrt_alarm(apply_mrt(env->apply), text, sizeof(text)) ? text : NULL);
}

struct advertising {
	const struct layers *layers;
	bool answer;
};

static void
advertising_look(void *arg) RUNS_ON(role_session)
{
	struct advertising *a = arg;

	a->answer = speaker_advertises(a->layers->speaker);
}

const char *
rpc_unhealthy(struct rpc_env *env, bool ready)
{
	struct advertising a = {.layers = env->layers, .answer = true};

	if (thread_stuck(env))
		return "a thread is stuck\n"; /* and might not answer the question below */
	if (ready)
		layers_call_session(env->layers, advertising_look, &a);
	return a.answer ? NULL : "the restart has not ended\n";
}

json_t *
rpc_alarms(struct rpc_env *env)
{
	json_t *list = json_array();
	char text[APPLY_ALARM_MAX];
	struct fib_stats s = {0};
	uint64_t failures = 0;

	for (unsigned i = 0; i < env->layers->shards.count; i++)
		failures += shard_failures(env->layers->shards.at[i]);
	if (env->layers->fib != NULL)
		fib_stats_get(env->layers->fib, &s);
	alarm_look(env, list, ALARM_RIB, failures);
	alarm_look(env, list, ALARM_NOT_INSTALLED, s.not_installed);
	alarm_look(env, list, ALARM_MEMORY, memory_guard_evictions(env->guard));
	alarm_look(env, list, ALARM_FIB_FEED,
		env->layers->fib != NULL ? fib_feed_failed(env->layers->feed) : 0);
	policy_look(env, list);
	alarm_look(env, list, ALARM_HASH, longest_too_long(env));
	alarm_set(env, list, ALARM_LABELS, apply_instances_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_SWAPS, apply_swaps_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_NETNS, apply_netns_alarm(env->apply, text) ? text : NULL);
	rpki_look(env, list);
#ifdef KEEL_DATAPLANE
	ports_look(env, list);
#endif
	bmp_look(env, list);
	mrt_look(env, list);
	max_routes_look(env, list);
#ifdef KEEL_DATAPLANE
	port_mtu_look(env, list);
#endif
	late_look(env, list);
	if (env->layers->speaker != NULL && apply_running(env->apply) != NULL)
		peers_look(env, list);
	return list;
}
