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
#include "control/host/netlink.h"
#include "dataplane/port/port.h"
#include "dataplane/process/forwarder.h"
#include "lpm/fib.h"
#include "lpm/path_list.h"
#include "rib/table/attr.h"
#include "rib/table/dest.h"
#include "rib/feed/fib_feed.h"
#include "rib/feed/nexthop.h"
#include "rib/policy/policy.h"
#include "rib/table/vrp.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
	ALARM_CROWDED,
	ALARM_NETNS,
	ALARM_DISK,
	ALARM_POLICY_FILES,
	ALARM_RPKI,
	ALARM_PORT_MTU,
	ALARM_BMP,
	ALARM_MRT,
	ALARM_NEXT_HOPS,
	ALARM_NEIGHBORS,
	ALARM_PATHS,
	ALARM_FORWARDER,
	ALARM_COUNTERS, /* the alarms above are raised while a counter is not 0 */
	ALARM_MAX_PREFIXES = ALARM_COUNTERS,
	ALARM_MAX_PREFIXES_OUT,
	ALARM_REFUSED,
	ALARM_PORT,
	ALARM_DUPLICATE,
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
		"have no MPLS label of this router. The text says why. A peer may have as many "
		"labels as are free, so one peer has at most half. `swapped_labels` in `bgp.peers` "
		"counts labels and refused routes of a peer; keeld tries again when labels are "
		"free."},
	[ALARM_MAX_ROUTES] = {"max-routes", NULL,
		"VPN instances have more routes than `max_routes` permits, or would have more. "
		"Raise the limit, or import fewer routes. `vrf.list` counts the routes."},
	[ALARM_CROWDED] = {"crowded-prefix", NULL,
		"A peer announces a VPN prefix with more route distinguishers than fit into an "
		"instance: 32,768 paths of a prefix, of one peer at most as many as are left, so "
		"half; dynamic peers of a group count as one. Further paths are not imported. "
		"`vrf.list` counts them (`crowded`); the text names the peer. Import fewer "
		"targets, or deny the routes by the import policy of the peer. keeld tries again "
		"within 64 s when paths of the prefix have gone."},
	[ALARM_NEIGHBORS] = {"neighbors", NULL,
		"In the last 10 s packets went to more absent addresses of a connected subnet than "
		"keeld asks for at a time (a scan), more than 128 next hops of a port did not "
		"answer, or the kernel refused a request because its table of neighbours is full. "
		"`neighbors` in `dataplane.stats` counts. Find the sender of the scan, or the peer "
		"whose routes have the dead next hops; `keelctl doctor` says whether the table is "
		"too small for the "
		"subnets of the ports."},
	[ALARM_NETNS] = {"namespace", NULL,
		"The network namespace of a VPN instance is missing, so sessions and ports of the "
		"instance stay down. The text names the namespace and the fault; keeld tries again "
		"for sessions each 10 s, for ports each minute."},
	[ALARM_DISK] = {"disk", NULL,
		"A file of keeld could not be written, or has waited for the disk for more than 2 "
		"s: FILE, "
		"the history of commits, the audit trail or the labels. Sessions, routes and "
		"requests that change "
		"nothing go on; a commit is answered when its files are written. The text names "
		"the file and the "
		"fault. Check the file system."},
	[ALARM_POLICY_FILES] = {"policy-files", NULL,
		"A policy file was edited and not taken, or was faulty at the start: the text of "
		"an earlier commit is in force. "
		"`config.diff` shows the difference; a commit with `policy_files` takes the "
		"files."},
	[ALARM_RPKI] = {"rpki", NULL,
		"No RPKI cache has been synchronized for 5 s or longer. The last records stay in "
		"use until they expire; then every route is `not-found`. `rpki.summary` has the "
		"error of each cache."},
	[ALARM_PORT_MTU] = {"port-mtu", NULL,
		"The MTU of a port and of its kernel interface differ, so one side sends packets "
		"that the other side loses. The text names the port and both values. Set the MTU "
		"of "
		"the interface, or `mtu` of the port, to a value within the limits of the device."},
	[ALARM_FORWARDER] = {"forwarder", NULL,
		"No worker uses the tables of this keeld: keelfwd has ended, and nothing forwards; "
		"or "
		"keelfwd forwards with the tables of the former keeld until the sessions of that "
		"keeld "
		"are back, at most 120 s after its end. The text has the time without a keeld and "
		"the "
		"links that keelfwd repaired meanwhile. Or keelfwd has ended three times within an "
		"hour, and packets were lost each time: this alarm stays until an hour after the "
		"third last end, and sessions stay. Look for the cause in the log of keelfwd."},
	[ALARM_BMP] = {"bmp", NULL,
		"A BMP collector has been without a connection for 30 s or longer. keeld tries "
		"again at most every 60 s. `bmp.summary` has the error of each collector."},
	[ALARM_MRT] = {"mrt", NULL,
		"A file of the key `mrt` cannot be written, or records were lost in the last 60 s. "
		"The text names the file and the error. Make room on the disk, or correct the "
		"folder; keeld tries again at the next record, and at the next interval. "
		"`mrt.summary` counts lost records."},
	[ALARM_NEXT_HOPS] = {"next-hop-unstable", NULL,
		"The state of a next hop changed more than ten times in a second, so keeld takes "
		"the next hop as unreachable: for 2 s, and for twice as long each further time, at "
		"most 64 s. The text names the next hop. A link fails again and again, or routes "
		"resolve each other in a circle. `rib.routes` shows the routes that cover the next "
		"hop."},
	[ALARM_PATHS] = {"equal-paths",
		"%llu groups of next hops have more than 64: the further ones forward nothing",
		"A route of the kernel, a static route or a next hop has more than 64 equal next "
		"hops. Packets use the first 64. Use fewer next hops; `fib.lookup` counts those "
		"that are left out of a route (`left_out`)."},
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
		"Routes of a peer were refused by another cause than policy or a loop. `refused` "
		"in "
		"`bgp.peers` "
		"counts the causes; `bgp.faults` has faulty messages."},
	[ALARM_PORT] = {"port", NULL,
		"A port is down, missing or has failed, so sessions over the port are down. One "
		"alarm for each port; the text has the reason. Check cable, optics and the far "
		"end of a port that is down; `dataplane.stats` has state and link of each port."},
	[ALARM_DUPLICATE] = {"duplicate-address", NULL,
		"Another machine on the link has an IPv6 address of the port, too (RFC 4862 "
		"5.4.5), "
		"so the kernel does not use the address. One alarm for each address. Remove the "
		"address there, or here, and add it again. Without its link-local address a port "
		"resolves no IPv6 neighbour."},
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

/* ---- alarms of a port, or of a peer's family ---- */

/* Alarms raised in this check; env->alarms_since has those of the last check. */
struct alarms_of {
	struct rpc_env *env;
	json_t *list, *since;
	const struct config_peer *peer;
	struct peer_id id;
	enum family family;
};

/* `key`: kind and object. `members`: of the alarm; taken over. True: the alarm is new. */
static bool
alarm_of(struct alarms_of *a, unsigned alarm, const char *key, const char *text, json_t *members)
{
	double since = json_real_value(json_object_get(a->env->alarms_since, key));

	bool is_new = since == 0;

	since = is_new ? wall_s() : since;
	json_object_set_new(a->since, key, json_real(since));
	json_object_set_new(members, "time", json_real(since));
	json_object_set_new(members, "kind", json_string(alarms[alarm].kind));
	json_object_set_new(members, "text", json_string(text));
	json_array_append_new(a->list, members);
	return is_new;
}

static void
peer_alarm(struct alarms_of *a, unsigned alarm, const char *text)
{
	char key[64 + ADDR_TEXT_MAX];

	snprintf(key, sizeof(key), "%s %u %u", alarms[alarm].kind, (unsigned)a->id.v,
		(unsigned)a->family);
	if (alarm_of(a, alarm, key, text,
		    json_pack("{s:s, s:s, s:s}", "peer", a->peer->addr_text, "vrf",
			    a->peer->vrf_name, "family", family_text(a->family))))
		log_event(LOG_WARNING, "alarm kind=%s peer=%s vrf=%s family=%s text=\"%s\"",
			alarms[alarm].kind, a->peer->addr_text, a->peer->vrf_name,
			family_text(a->family), text);
}

static void
limit_look(struct alarms_of *a)
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
	peer_alarm(a, ALARM_MAX_PREFIXES, text);
}

static void
limit_out_look(struct alarms_of *a)
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
	peer_alarm(a, ALARM_MAX_PREFIXES_OUT, text);
}

/* True if the peer also had paths without a valid next hop in the last check. Records the present check. */
static bool
next_hop_again(struct alarms_of *a)
{
	char key[64];

	snprintf(key, sizeof(key), "next-hop %u %u", (unsigned)a->id.v, (unsigned)a->family);
	json_object_set_new(a->since, key, json_true());
	return json_object_get(a->env->alarms_since, key) != NULL;
}

/* Routes refused by causes that raise an alarm (rib/shard/refused.h). The text names the most frequent causes. */
static void
refused_look(struct alarms_of *a)
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
	peer_alarm(a, ALARM_REFUSED, text);
}

/* An idle or faultless peer costs one bit, for any number of shards. */
static void
peers_look(struct alarms_of *a) RUNS_ON(role_main)
{
	const struct rpc_env *env = a->env;
	uint64_t ailing[FAMILY_COUNT][PEER_WORDS];

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		for (unsigned w = 0; w < PEER_WORDS; w++)
			ailing[f][w] = shards_ailing(&env->layers->shards, (enum family)f, w);

	for (a->id = (struct peer_id){0}; (a->id = peers_next(env->peers, a->id)).v != 0;) {
		a->peer = peers_config(env->peers, a->id);
		for (a->family = 0; a->peer != NULL && a->family < FAMILY_COUNT; a->family++) {
			if (!a->peer->families[a->family].enabled)
				continue;
			limit_look(a);
			limit_out_look(a);
			if (ailing[a->family][a->id.v / 64] >> a->id.v % 64 & 1)
				refused_look(a);
		}
	}
}

/* The text of an alarm about instances. */
struct instances_text {
	char text[480];
	size_t len;
	bool full;
};

static void __attribute__((format(printf, 2, 3)))
instance_add(struct instances_text *t, const char *format, ...)
{
	va_list args;

	if (t->full)
		return;
	t->full = t->len > sizeof(t->text) - 160;
	if (t->len > 0)
		t->len += (size_t)snprintf(t->text + t->len, sizeof(t->text) - t->len, "; %s",
			t->full ? "and more instances" : "");
	if (t->full)
		return;
	va_start(args, format);
	t->len += (size_t)vsnprintf(t->text + t->len, sizeof(t->text) - t->len, format, args);
	va_end(args);
}

/* Instances at the limit max_routes, and without room for paths of a prefix. */
static void
instances_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	const struct config *c = apply_running(env->apply);
	struct instances_text limited = {.len = 0}, crowded = {.len = 0};

	for (unsigned i = 0; c != NULL && i < c->vrf_count; i++) {
		const struct config_vrf *vrf = &c->vrfs[i];
		struct shard_instance_counts n;
		uint64_t routes = rpc_vrf_routes(env, vrf->id, &n);

		if (vrf->max_routes != 0 && (n.refused > 0 || routes > vrf->max_routes))
			instance_add(&limited,
				"instance %s has %llu routes with max_routes %u, and refuses %llu",
				vrf->name, (unsigned long long)routes, vrf->max_routes,
				(unsigned long long)n.refused);
		if (n.crowded > 0) {
			const struct config_peer *peer = peers_config(env->peers, n.crowded_by);

			instance_add(&crowded,
				"instance %s has no room for %llu paths of crowded prefixes, of "
				"peer %s",
				vrf->name, (unsigned long long)n.crowded,
				peer != NULL ? peer->addr_text : "that is gone");
		}
	}
	alarm_set(env, list, ALARM_MAX_ROUTES, limited.len > 0 ? limited.text : NULL);
	alarm_set(env, list, ALARM_CROWDED, crowded.len > 0 ? crowded.text : NULL);
}

struct held_look {
	const struct layers *layers;
	struct nexthop_held held[4];
	unsigned count, all;
};

static void
held_read(void *arg) RUNS_ON(role_fib)
{
	struct held_look *h = arg;

	h->all = nexthop_held_count(h->layers->nexthops);
	h->count = nexthop_held(h->layers->nexthops, h->held, sizeof(h->held) / sizeof(h->held[0]));
}

/* Next hops that are held down. */
static void
next_hops_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	struct held_look h = {.layers = env->layers};
	char text[800] = "next hops change too often and are held down: ";
	char addr[ADDR_TEXT_MAX], prefix[PREFIX_TEXT_MAX];
	size_t len = strlen(text);

	if (env->layers->nexthops != NULL && nexthop_held_count(env->layers->nexthops) > 0)
		layers_call_fib(env->layers, held_read, &h);
	for (unsigned i = 0; i < h.count; i++) {
		const struct nexthop_held *n = &h.held[i];
		bool own = n->own.afi != AFI_NONE;

		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"%s%s of instance %s%s%s (for %u s)", i > 0 ? ", " : "",
			addr_format(&n->addr, addr), apply_vrf_name(env->apply, n->vrf),
			own ? " for routes to " : "", own ? prefix_format(&n->own, prefix) : "",
			(unsigned)(n->hold_ns / 1000000000));
	}
	if (h.all > h.count)
		(void)snprintf(text + len, sizeof(text) - len, ", and %u more", h.all - h.count);
	if (h.count == 0) {
		alarm_set(env, list, ALARM_NEXT_HOPS, NULL);
		return;
	}
	alarm_set(env, list, ALARM_NEXT_HOPS, text);
}

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

#define OFTEN_NS UINT64_C(3600000000000)

static void
forwarder_look(struct rpc_env *env, json_t *list)
{
	const struct forwarder_state *s = forwarder_current();
	char text[200];

	bool often = s != NULL && s->ends >= FORWARDER_ENDS &&
		     now_ns() - s->ended_ns[s->ends % FORWARDER_ENDS] < OFTEN_NS;

	if (s == NULL || (!often && (s->published || !(s->lost || s->inherited)))) {
		alarm_set(env, list, ALARM_FORWARDER, NULL);
		return;
	}
	if (s->lost)
		snprintf(text, sizeof(text), "keelfwd has ended: nothing forwards");
	else if (often)
		snprintf(text, sizeof(text),
			"keelfwd has ended %u times since the start of keeld, at least %u times in "
			"the last hour",
			s->ends, FORWARDER_ENDS);
	else
		snprintf(text, sizeof(text),
			"keelfwd forwards with the tables of the former keeld, %u s of it without "
			"a "
			"keeld; repairs of links: %u",
			s->alone_s, s->repairs);
	alarm_set(env, list, ALARM_FORWARDER, text);
}

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

static void
ports_look(struct alarms_of *a)
{
	static const char *const is[] = {[PORT_DOWN] = "is down",
		[PORT_MISSING] = "is missing",
		[PORT_FAILED] = "has failed"};
	char key[32], text[256];
	struct port_link l;

	for (uint16_t p = 0; a->env->layers->fib != NULL && p < port_count(); p++) {
		port_link_get(p, &l);
		if (!port_exists(p) || l.state == PORT_UP)
			continue;
		snprintf(key, sizeof(key), "port %s", port_name(p));
		snprintf(text, sizeof(text), "%s %s: %s", key, is[l.state], l.reason);
		if (alarm_of(a, ALARM_PORT, key, text,
			    json_pack("{s:s, s:s, s:s?}", "port", port_name(p), "state",
				    port_state_text(l.state), "reason", l.reason)))
			log_event(LOG_WARNING, "alarm kind=port port=%s text=\"%s\"", port_name(p),
				text);
	}
}

static void
duplicates_look(struct alarms_of *a) RUNS_ON(role_main)
{
	struct rpc_duplicates d;
	char key[128], text[300], addr[ADDR_TEXT_MAX];

	if (a->env->layers->fib == NULL)
		return;
	rpc_duplicates(a->env, &d);
	for (unsigned i = 0; i < d.count; i++) {
		const char *port = port_name(d.at[i].port);

		addr_format(&d.at[i].addr, addr);
		snprintf(key, sizeof(key), "duplicate-address %s %s", port, addr);
		snprintf(text, sizeof(text),
			"another machine on the link of port %s has the address %s%s", port, addr,
			addr_is_link_local(&d.at[i].addr)
				? "; no IPv6 neighbour is resolved without it"
				: "");
		if (alarm_of(a, ALARM_DUPLICATE, key, text,
			    json_pack("{s:s, s:s}", "port", port, "address", addr)))
			log_event(LOG_WARNING, "alarm kind=duplicate-address port=%s text=\"%s\"",
				port, text);
	}
}

#define NEIGHBORS_NS UINT64_C(10000000000)

/* Requests for neighbours were held back, or refused by the kernel, in the last seconds. */
static void
neighbors_look(struct rpc_env *env, json_t *list) RUNS_ON(role_main)
{
	const struct netlink_room *room = env->layers->neighbor_room;
	uint64_t at =
		room != NULL ? atomic_load_explicit(&room->short_ns, memory_order_relaxed) : 0;
	char text[400];

	if (at == 0 || now_ns() - at > NEIGHBORS_NS) {
		alarm_set(env, list, ALARM_NEIGHBORS, NULL);
		return;
	}
	snprintf(text, sizeof(text),
		"port %s asks for too many neighbours that do not answer, or the kernel's table of "
		"neighbours is full: %llu requests held back, %llu refused by the kernel",
		port_name(atomic_load_explicit(&room->short_port, memory_order_relaxed)),
		(unsigned long long)atomic_load_explicit(&room->held, memory_order_relaxed),
		(unsigned long long)atomic_load_explicit(&room->refused, memory_order_relaxed));
	alarm_set(env, list, ALARM_NEIGHBORS, text);
}

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

json_t *
rpc_system_health(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct advertising a = {.layers = env->layers, .answer = true};
	const char *reason = NULL;
	bool ready = false;

	if (!rpc_boolean(params, "ready", &ready, call))
		return NULL;
	if (thread_stuck(env))
		reason = "a thread is stuck"; /* and might not answer the question below */
	else if (ready)
		layers_call_session(env->layers, advertising_look, &a);
	if (!a.answer)
		reason = "the restart has not ended";
	return json_pack("{s:s?}", "reason", reason);
}

json_t *
rpc_alarms(struct rpc_env *env)
{
	json_t *list = json_array();
	struct alarms_of of = {.env = env, .list = list, .since = json_object()};
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
	alarm_look(env, list, ALARM_PATHS,
		env->layers->fib != NULL ? path_lists_left_out(fib_path_lists(env->layers->fib))
					 : 0);
	policy_look(env, list);
	alarm_look(env, list, ALARM_HASH, longest_too_long(env));
	alarm_set(env, list, ALARM_LABELS, apply_instances_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_SWAPS, apply_swaps_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_DISK, apply_disk_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_POLICY_FILES,
		apply_policy_files_alarm(env->apply, text) ? text : NULL);
	alarm_set(env, list, ALARM_NETNS, apply_netns_alarm(env->apply, text) ? text : NULL);
	forwarder_look(env, list);
	rpki_look(env, list);
	ports_look(&of);
	duplicates_look(&of);
	neighbors_look(env, list);
	bmp_look(env, list);
	mrt_look(env, list);
	instances_look(env, list);
	next_hops_look(env, list);
	port_mtu_look(env, list);
	late_look(env, list);
	if (env->layers->speaker != NULL && apply_running(env->apply) != NULL)
		peers_look(&of);
	json_decref(env->alarms_since);
	env->alarms_since = of.since;
	return list;
}

json_t *
rpc_alarm_counts(const json_t *list)
{
	json_t *counts = json_object(), *alarm;
	size_t i;

	for (unsigned a = 0; a < ALARM_KINDS; a++)
		json_object_set_new(counts, alarms[a].kind, json_integer(0));
	json_array_foreach(list, i, alarm)
	{
		json_t *n =
			json_object_get(counts, json_string_value(json_object_get(alarm, "kind")));

		json_integer_set(n, json_integer_value(n) + 1);
	}
	return counts;
}
