/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods bgp.* and jobs.*, keel-rpc(7). */
#include "control/rpc/rpc_impl.h"

#include "control/config/config.h"
#include "control/session/session.h"
#include "control/base/threads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peek {
	struct rpc_env *env;
	struct peer_id id;
	bool found;
	struct session_view view;
};

static void
peek_session(void *arg) RUNS_ON(role_session)
{
	struct peek *p = arg;

	p->found = session_peek(p->env->layers->speaker, p->id, &p->view);
}

/* The objects of rpc_encode(): in a family the view begins at the part of the family, and the configuration is that of the family. */
enum { OF_VIEW, OF_CONFIG, OF_IN };
#define PART(member) RPC_PART(OF_VIEW, struct session_view, member)
#define VIEW_NUMBER(member) RPC_NUMBER(#member, OF_VIEW, struct session_view, member)
#define VIEW_NUMBER_AS(name, member) RPC_NUMBER(name, OF_VIEW, struct session_view, member)
#define VIEW_FLAG_AS(name, member) RPC_FLAG(name, OF_VIEW, struct session_view, member)
#define CAPABILITY_FLAG(member) RPC_FLAG(#member, OF_VIEW, struct session_capability, member)
#define FAMILY_NUMBER(member) FAMILY_NUMBER_AS(#member, member)
#define FAMILY_NUMBER_AS(name, member) VIEW_NUMBER_AS(name, families[0].member)
#define FAMILY_FLAG(member) FAMILY_FLAG_AS(#member, member)
#define FAMILY_FLAG_AS(name, member) VIEW_FLAG_AS(name, families[0].member)
#define GROUP_NUMBER(member) FAMILY_NUMBER_AS(#member, group.member)
#define CONFIG_NUMBER_AS(name, member) RPC_NUMBER(name, OF_CONFIG, struct config_family, member)
#define CONFIG_FLAG(member) RPC_FLAG(#member, OF_CONFIG, struct config_family, member)
#define PEER_NUMBER_AS(name, member) RPC_NUMBER(name, OF_CONFIG, struct config_peer, member)
#define PEER_FLAG_AS(name, member) RPC_FLAG(name, OF_CONFIG, struct config_peer, member)
#define IN_NUMBER(member) RPC_NUMBER(#member, OF_IN, struct adj_rib_in_counts, member)

static const struct rpc_field capability_fields[] = {
	{CAPABILITY_FLAG(local) "This router offers the capability."},
	{CAPABILITY_FLAG(remote) "The peer offers the capability."},
	{CAPABILITY_FLAG(negotiated) "Both do: the session uses it."},
	{0},
};

static const struct rpc_field capabilities_fields[] = {
	{"route_refresh", "object", "Route refresh (RFC 2918).", capability_fields,
		PART(route_refresh)},
	{"enhanced_route_refresh", "object", "Enhanced route refresh (RFC 7313).",
		capability_fields, PART(enhanced_route_refresh)},
	{"four_octet_as", "object", "Four-octet AS numbers (RFC 6793).", capability_fields,
		PART(four_octet_as)},
	{"extended_message", "object", "Extended messages (RFC 8654).", capability_fields,
		PART(extended_message)},
	{"graceful_restart", "object", "Graceful restart (RFC 4724).", capability_fields,
		PART(graceful_restart)},
	{"extended_next_hop", "object", "Extended next hop encoding (RFC 8950).", capability_fields,
		PART(extended_next_hop)},
	{"restart_notification", "object",
		"Graceful restart after NOTIFICATION messages (RFC 8538).", capability_fields,
		PART(restart_notification)},
	{0},
};

static const struct rpc_field offered_fields[] = {
	{"code", "integer", "Capability code."},
	{"name?", "string", "Name of a registered code."},
	{"value", "string", "Hexadecimal digits of the value."},
	{0},
};

static const struct rpc_field refresh_fields[] = {
	{FAMILY_NUMBER(requests_sent) "ROUTE-REFRESH requests sent to the peer.",
		COUNTER("keel_peer_refresh_requests_sent")},
	{FAMILY_NUMBER(requests_received) "ROUTE-REFRESH requests from the peer.",
		COUNTER("keel_peer_refresh_requests_received")},
	{FAMILY_NUMBER(served) "Walks through the table that were sent for these requests.",
		COUNTER("keel_peer_refresh_served")},
	{FAMILY_NUMBER(
		coalesced) "Requests answered by a walk that also answers an earlier request."},
	{FAMILY_NUMBER(borr_sent) "BoRR messages sent (RFC 7313)."},
	{FAMILY_NUMBER(eorr_sent) "EoRR messages sent."},
	{FAMILY_NUMBER(borr_received) "BoRR messages received."},
	{FAMILY_NUMBER(eorr_received) "EoRR messages received."},
	{IN_NUMBER(stale_swept) "Routes deleted because the peer did not announce them again "
				"within a refresh.",
		COUNTER("keel_peer_stale_swept")},
	{IN_NUMBER(borr_ignored) "BoRR messages that began no refresh."},
	{0},
};

static const struct rpc_field update_group_fields[] = {
	{GROUP_NUMBER(id) "Number of the update group; never used again."},
	{GROUP_NUMBER(members) "Peers in the group."},
	{GROUP_NUMBER(behind) "Peers that are behind the others and are served separately.",
		GAUGE("keel_peer_group_behind",
			"Members of the update group of the peer that are behind the others.")},
	{GROUP_NUMBER(walks) "Walks for initial tables and refreshes."},
	{GROUP_NUMBER(policy_walks) "Walks for changed export policies."},
	{GROUP_NUMBER(messages) "UPDATE messages packed once for all members."},
	{GROUP_NUMBER(octets) "Octets of these messages."},
	{GROUP_NUMBER(own_messages) "UPDATE messages packed for one member that was behind."},
	{GROUP_NUMBER(fell_behind) "Times a member fell behind."},
	{GROUP_NUMBER(evicted) "Members moved to a group of their own."},
	{GROUP_NUMBER(splits) "Times the group was split."},
	{GROUP_NUMBER(foreign_labels) "VPN families: times a route was not advertised because its "
				      "label would get "
				      "the next hop of a third router."},
	{GROUP_NUMBER(no_labels) "VPN families: times a route was not advertised with our next hop "
				 "because no "
				 "label of this router was free or installed."},
	{0},
};

static const struct rpc_field max_prefixes_fields[] = {
	{FAMILY_NUMBER_AS("limit", max_prefixes) "The limit.",
		GAUGE("keel_peer_prefix_limit", "Limit of prefixes, where `max_prefixes` is set.")},
	{"action", "warning|shutdown|discard", "What happens beyond the limit."},
	{FAMILY_NUMBER_AS("threshold_percent",
		max_prefixes_threshold) "The part of the limit that raises an alarm."},
	{FAMILY_FLAG_AS(
		 "exceeded", max_prefixes_exceeded) "The limit was exceeded in this session.",
		GAUGE("keel_peer_prefix_limit_exceeded",
			"1 after the limit of prefixes was exceeded.")},
	{FAMILY_NUMBER_AS("restart_s?",
		max_prefixes_restart_s) "Seconds until a session that was shut down starts again."},
	{0},
};

static const struct rpc_field max_prefixes_out_fields[] = {
	{CONFIG_NUMBER_AS("limit", max_prefixes_out) "The limit.",
		GAUGE("keel_peer_advertised_limit",
			"Limit of advertised prefixes, where `max_prefixes_out` is set.")},
	{"action", "warning|shutdown", "What happens beyond the limit."},
	{CONFIG_NUMBER_AS("threshold_percent",
		max_prefixes_out_threshold) "The part of the limit that raises an alarm."},
	{FAMILY_FLAG_AS("exceeded",
		 max_prefixes_out_exceeded) "The limit is exceeded, or was when the session ended.",
		GAUGE("keel_peer_advertised_limit_exceeded",
			"1 while the limit of advertised prefixes is exceeded.")},
	{FAMILY_NUMBER_AS("exceeded_total",
		max_prefixes_out_passed) "Times the limit was exceeded, over all sessions."},
	{0},
};

static const struct rpc_field refused_fields[] = {
	{"*", "integer",
		"Prefixes refused for this cause: `malformed-`ATTRIBUTE, `as-loop`, "
		"`originator-loop`, "
		"`cluster-loop`, `first-as`, `as-path-length`, `as-set`, `next-hop`, `no-policy`, "
		"`policy`, `blackhole`, "
		"`prefix-limit`, `unusable-prefix`, `unusable-label`, `route-leak`, "
		"`not-installed`.",
		COUNTER("keel_peer_refused",
			"Prefixes refused since the session came up, by cause.")},
	{0},
};

static const struct rpc_field family_fields[] = {
	{IN_NUMBER(received) "Routes stored: the accepted ones and, with `keep_all_routes`, the "
			     "rejected ones.",
		GAUGE("keel_peer_routes_received", "Routes stored.")},
	{IN_NUMBER(accepted) "Routes that the import policy accepts.",
		GAUGE("keel_peer_routes_accepted")},
	{IN_NUMBER(rejected_total) "Prefixes refused since the session came up.",
		COUNTER("keel_peer_routes_rejected")},
	{FAMILY_NUMBER(advertised) "Routes advertised to the peer.",
		GAUGE("keel_peer_routes_advertised")},
	{FAMILY_FLAG(negotiated) "The session carries the family."},
	{FAMILY_FLAG(end_of_rib_received) "The peer has sent its whole table once."},
	{FAMILY_FLAG(end_of_rib_sent) "The whole table was sent to the peer once."},
	{CONFIG_FLAG(keep_all_routes) "Routes are kept as received."},
	{FAMILY_FLAG(slow) "The peer takes the routes of the family slowly (`slow_peer`).",
		GAUGE("keel_peer_slow", "1 while the peer is slow.")},
	{FAMILY_FLAG(graceful_restart) "The peer keeps the family across its restart."},
	{FAMILY_FLAG(forwarding_kept) "The peer kept its forwarding state (F bit)."},
	{FAMILY_FLAG(retained) "Routes of an earlier session are kept until the peer returns."},
	{FAMILY_FLAG(extended_next_hop) "IPv6 next hops are negotiated for the family."},
	{"no_policy", "string[]",
		"Directions (`import`, `export`) in which nothing passes because an external "
		"session "
		"has no policy (RFC 8212)."},
	{"refresh", "object", "Counters of refreshes.", refresh_fields},
	{"kept?", "integer", "Routes kept as received; only with `keep_all_routes`."},
	{"not_applied?", "string",
		"A committed policy change that reaches the peer only when the session is "
		"established "
		"again: the reason."},
	{"update_group?", "object", "The peers that share UPDATE messages with this peer.",
		update_group_fields},
	{FAMILY_NUMBER_AS("slow_total", slow_count) "Times the peer became slow.",
		COUNTER("keel_peer_slow_detections")},
	{"refused", "object", "Refused prefixes by cause; a cause that never occurred is absent.",
		refused_fields},
	{"max_prefixes?", "object", "The limit of prefixes, where one is set.",
		max_prefixes_fields},
	{"max_prefixes_out?", "object", "The limit of advertised prefixes, where one is set.",
		max_prefixes_out_fields},
	{"blackholed_total?", "integer",
		"Announcements accepted by `blackhole` since the session came up (RFC 7999).",
		COUNTER("keel_peer_blackholed")},
	{0},
};

static const struct rpc_field families_fields[] = {
	{"*", "object", "One address family of the session.", family_fields},
	{0},
};

static const struct rpc_field falls_fields[] = {
	{"*", "integer",
		"Sessions that ended for this cause: `sent` or `received` and the NOTIFICATION, as "
		"`received cease/administrative-reset`; `lost connection-closed`, `lost "
		"connection-lost`, `lost link-down`, `lost new-connection`, `lost other`. Twelve "
		"causes; further "
		"ones count as `lost other`.",
		COUNTER("keel_peer_session_ends", "Ends of established sessions, by cause.")},
	{0},
};

static const struct rpc_field swapped_labels_fields[] = {
	{VIEW_NUMBER(labels) "Labels in use, and labels that rest before another use."},
	{VIEW_NUMBER_AS("refused", labels_refused) "Times a route got no label, because the peer "
						   "has as many as are free."},
	{0},
};

static const struct rpc_field peer_fields[] = {
	{"address", "string", "Address of the peer; link-local as `fe80::2%east`."},
	{"vrf", "string", "VRF of the peer."},
	{"asn", "integer", "AS number of the peer."},
	{"group", "string|null", "The group that the peer inherits from."},
	{"type", "internal|external", "Whether the peer is in the AS of this router."},
	{"state", "idle|connect|active|open-sent|open-confirm|established",
		"State of the session (RFC 4271 8.2.2).",
		GAUGE("keel_peer_established", "1 while the session is established.")},
	{"uptime_s", "number", "Seconds since the session is established; 0 when it is not.",
		GAUGE("keel_peer_uptime_seconds", "Time since the session is established.")},
	{VIEW_NUMBER(established_count) "Times the session was established.",
		COUNTER("keel_peer_sessions")},
	{"last_error", "string",
		"Why the last session ended or the last attempt failed; \"\" when there was no "
		"error."},
	{"capabilities", "object", "Capabilities of both sides.", capabilities_fields},
	{"families", "object", "The configured address families, by name.", families_fields},
	{VIEW_NUMBER(hold_time_s) "Negotiated hold time; 0 when there is none."},
	{VIEW_NUMBER(messages_received) "BGP messages from the peer.",
		COUNTER("keel_peer_messages_received")},
	{VIEW_NUMBER(messages_sent) "BGP messages to the peer.",
		COUNTER("keel_peer_messages_sent")},
	{VIEW_NUMBER(updates_received) "UPDATE messages from the peer.",
		COUNTER("keel_peer_updates_received")},
	{VIEW_NUMBER(updates_sent) "UPDATE messages to the peer.",
		COUNTER("keel_peer_updates_sent")},
	{VIEW_NUMBER(hold_rearmed) "Times the hold timer was extended because received octets were "
				   "still unread."},
	{VIEW_NUMBER(keepalive_late_ns) "Longest delay of a KEEPALIVE to this peer."},
	{"falls", "object", "Ends of established sessions by cause.", falls_fields},
	{VIEW_NUMBER(output_octets) "Octets for the peer that the kernel has not accepted.",
		GAUGE("keel_peer_output_octets")},
	{VIEW_NUMBER(input_octets) "Octets of the peer that are read and not handled.",
		GAUGE("keel_peer_input_octets")},
	{"rtt_s", "number", "Round-trip time of the connection, smoothed; 0 without a session.",
		GAUGE("keel_peer_rtt_seconds")},
	{VIEW_NUMBER_AS("retransmits",
		 socket.retransmits) "Segments sent again since the connection began.",
		GAUGE("keel_peer_retransmits")},
	{VIEW_NUMBER_AS("segment_bytes",
		 socket.segment) "Largest segment that the connection sends; 0 without a session.",
		GAUGE("keel_peer_tcp_mss_bytes")},
	{PEER_NUMBER_AS("tcp_mss?", tcp_mss) "The key `tcp_mss`, where it is set."},
	{"memory_bytes", "integer", "Memory that the routes of the peer take.",
		GAUGE("keel_peer_memory_bytes")},
	{"swapped_labels?", "object",
		"MPLS labels of this router for VPN routes of the peer; of dynamic peers those of "
		"all dynamic peers of the group.",
		swapped_labels_fields},
	{"offered?", "object[]",
		"Every capability in the OPEN of the peer, in this order; of an established "
		"session.",
		offered_fields},
	{"port?", "object",
		"The port with a subnet of the document that holds the peer: `name`, `state`, "
		"`reason`, `speed_mbps`, `duplex`, `autoneg` and `fec` as in `dataplane.stats`."},
	{PEER_FLAG_AS("route_reflector_client?",
		route_reflector_client) "True for a route reflector client."},
	{VIEW_FLAG_AS("held?", held) "True after the limit of prefixes ended the session; a reset "
				     "or another limit "
				     "starts "
				     "the session again."},
	{VIEW_FLAG_AS(
		"idle_hold?", idle_hold) "True while the session waits before the next attempt."},
	{PEER_FLAG_AS("dynamic?", dynamic) "True for a peer of a listen range."},
	{PEER_FLAG_AS("passive?", passive) "True when this router does not open the connection."},
	{PEER_FLAG_AS("shutdown?", shutdown) "True when the configuration shuts the session down."},
	{VIEW_FLAG_AS("link_sensitive?",
		link_sensitive) "True for an established session that ends with its link."},
	{PEER_FLAG_AS("gtsm?", gtsm) "True with GTSM (RFC 5082)."},
	{"md5?", "boolean", "True when TCP MD5 signs the connection."},
	{"local_address?", "address", "Address of this router on the connection."},
	{"local_as?", "integer", "AS number shown to the peer, where it is not `router.asn`."},
	{"role?", "provider|rs-server|rs-client|customer|peer",
		"Role of this router towards the peer (RFC 9234)."},
	{"peer_role?", "provider|rs-server|rs-client|customer|peer",
		"Role that the peer announced."},
	{PEER_NUMBER_AS("multihop?", multihop) "TTL of the session, where `multihop` is set."},
	{"restart_time_s?", "integer", "Restart time that the peer announced (RFC 4724)."},
	{"description?", "string", "Description from the configuration."},
	{0},
};

/* IANA, Capability Codes. NULL: no name. */
static const char *
capability_name(uint8_t code)
{
	static const char *const names[] = {[1] = "multiprotocol",
		[2] = "route-refresh",
		[3] = "outbound-route-filtering",
		[5] = "extended-next-hop",
		[6] = "extended-message",
		[7] = "bgpsec",
		[8] = "multiple-labels",
		[9] = "role",
		[64] = "graceful-restart",
		[65] = "four-octet-as",
		[67] = "dynamic",
		[68] = "multisession",
		[69] = "add-path",
		[70] = "enhanced-route-refresh",
		[71] = "long-lived-graceful-restart",
		[72] = "routing-policy-distribution",
		[73] = "fqdn",
		[75] = "software-version",
		[76] = "paths-limit",
		[128] = "route-refresh-before-rfc-2918"};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : NULL;
}

static json_t *
offered_json(const struct session_view *v)
{
	json_t *a = json_array();

	for (unsigned at = 0; at < v->offered_len; at += 2u + v->offered[at + 1])
		json_array_append_new(
			a, json_pack("{s:i, s:s*, s:o}", "code", (int)v->offered[at], "name",
				   capability_name(v->offered[at]), "value",
				   rpc_octets(v->offered + at + 2, v->offered[at + 1])));
	return a;
}

/* RFC 8212: the directions without a policy, in which no route passes. */
static json_t *
no_policy_json(const struct session_view *v, enum family f)
{
	json_t *directions = json_array();

	if (v->families[f].no_import_policy)
		json_array_append_new(directions, json_string("import"));
	if (v->families[f].no_export_policy)
		json_array_append_new(directions, json_string("export"));
	return directions;
}

/* Causes with count 0 have no key. */
static json_t *
refused_json(const struct rpc_env *env, struct peer_id id, enum family f)
{
	uint64_t refused[REFUSED_CAUSES];
	json_t *o = json_object();

	shards_peer_refused(&env->layers->shards, id, f, refused);
	for (enum refused_cause c = 0; c < REFUSED_CAUSES; c++)
		if (refused[c] != 0)
			json_object_set_new(
				o, refused_text(c), json_integer((json_int_t)refused[c]));
	return o;
}

static json_t *
family_json(const struct rpc_env *env, const struct config_peer *p, struct peer_id id,
	enum family f, const struct session_view *v) RUNS_ON(role_main)
{
	static const char *const actions[] = {[MAX_PREFIXES_WARNING] = "warning",
		[MAX_PREFIXES_SHUTDOWN] = "shutdown",
		[MAX_PREFIXES_DISCARD] = "discard"};
	const char *not_applied = apply_not_applied(env->apply, id, f, v);
	const struct config_family *k = &p->families[f];
	struct adj_rib_in_counts in = {0};
	const void *const of[] = {
		(const char *)v + f * sizeof(v->families[0]), &p->families[f], &in};
	json_t *o = json_pack("{s:o, s:o, s:s*}", "no_policy", no_policy_json(v, f), "refused",
		refused_json(env, id, f), "not_applied", not_applied);

	shards_peer_counts(&env->layers->shards, id, f, &in);
	json_object_set_new(o, "refresh", rpc_encode(refresh_fields, of, NULL));
	if (k->keep_all_routes)
		json_object_set_new(o, "kept", json_integer((json_int_t)in.kept));
	if (v->families[f].group.id != 0)
		json_object_set_new(o, "update_group", rpc_encode(update_group_fields, of, NULL));
	if (v->families[f].max_prefixes != 0)
		json_object_set_new(o, "max_prefixes",
			rpc_encode(max_prefixes_fields, of,
				json_pack("{s:s}", "action",
					actions[v->families[f].max_prefixes_action])));
	if (k->max_prefixes_out != 0)
		json_object_set_new(o, "max_prefixes_out",
			rpc_encode(max_prefixes_out_fields, of,
				json_pack("{s:s}", "action", actions[k->max_prefixes_out_action])));
	if (k->blackhole.prefix_list != NULL)
		json_object_set_new(
			o, "blackholed_total", json_integer((json_int_t)in.blackholed_total));
	return rpc_encode(family_fields, of, o);
}

static json_t *
families_json(const struct rpc_env *env, const struct config_peer *p, struct peer_id id,
	const struct session_view *v) RUNS_ON(role_main)
{
	json_t *families = json_object();

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->families[f].enabled)
			json_object_set_new(families, family_text((enum family)f),
				family_json(env, p, id, (enum family)f, v));
	}
	return families;
}

static const char *
role_word(unsigned role)
{
	return role != ROLE_NONE && role < ROLE_COUNT ? role_text((enum session_role)role) : NULL;
}

/* {"sent cease/administrative-reset": count} */
static json_t *
falls_json(const struct session_view *v)
{
	json_t *o = json_object();
	char cause[96];

	for (unsigned i = 0; i < SESSION_FALLS && v->falls[i].text != NULL; i++) {
		snprintf(cause, sizeof(cause), "%s %s", v->falls[i].way, v->falls[i].text);
		json_object_set_new(o, cause, json_integer(v->falls[i].count));
	}
	return o;
}

/* The password is never shown. */
json_t *
rpc_peer_json(struct rpc_env *env, struct peer_id id, const struct config_peer *p,
	const struct session_view *v)
{
	const void *const of[] = {v, p};
	bool any_as = p->asn == 0; /* a peer from a range: its OPEN gives the AS number */
	double uptime = 0;
	json_t *o;

	if (v->state == FSM_ESTABLISHED && v->established_ns != 0)
		uptime = (double)(now_ns() - v->established_ns) / 1e9;
	o = json_pack("{s:s, s:s, s:I, s:s?, s:s, s:s, s:f, s:s, s:o, s:o, s:o, s:I, s:s*, s:s*, "
		      "s:s*, s:o*, s:f}",
		"address", p->addr_text, "vrf", p->vrf_name, "asn",
		(json_int_t)(any_as ? v->remote_asn : p->asn), "group", p->group, "type",
		(any_as ? v->external : p->external) ? "external" : "internal", "state",
		fsm_state_text(v->state), "uptime_s", uptime, "last_error", v->last_error,
		"capabilities", rpc_encode(capabilities_fields, of, NULL), "families",
		families_json(env, p, id, v), "falls", falls_json(v), "memory_bytes",
		(json_int_t)shards_peer_memory(&env->layers->shards, id), "role",
		role_word(p->role), "peer_role", role_word(v->remote_role), "description",
		p->description, "port", rpc_port_of(env, p->vrf, &p->addr, p->addr_text), "rtt_s",
		v->socket.rtt_us / 1e6);
	if (v->labels > 0 || v->labels_refused > 0)
		json_object_set_new(
			o, "swapped_labels", rpc_encode(swapped_labels_fields, of, NULL));
	if (v->offered_len > 0)
		json_object_set_new(o, "offered", offered_json(v));
	if (p->password != NULL)
		json_object_set_new(o, "md5", json_true());
	if (v->local_addr.afi != AFI_NONE)
		json_object_set_new(o, "local_address", rpc_addr(&v->local_addr));
	if (p->local_as != apply_running(env->apply)->asn)
		json_object_set_new(o, "local_as", json_integer(p->local_as));
	if (v->graceful_restart.remote)
		json_object_set_new(o, "restart_time_s", json_integer(v->restart_time_s));
	return rpc_encode(peer_fields, of, o);
}

/* ---- bgp.faults ---- */

struct faults_call {
	struct rpc_env *env;
	struct peer_id id;
	struct session_fault *fault; /* SESSION_FAULTS */
	unsigned count;
};

static void
faults_get(void *arg) RUNS_ON(role_session)
{
	struct faults_call *c = arg;

	c->count = session_faults(c->env->layers->speaker, c->id, c->fault);
}

static json_t *
fault_json(const struct session_fault *f)
{
	const char *family = f->family != FAMILY_COUNT ? family_text((enum family)f->family) : NULL;

	return json_pack("{s:f, s:s?, s:s, s:s, s:I, s:i, s:o}", "time", f->time_s, "family",
		family, "severity", session_fault_severity(f), "text", f->text, "prefixes",
		(json_int_t)f->prefixes, "length", (int)f->len, "octets",
		rpc_octets(f->octets, f->kept));
}

static json_t *
bgp_faults(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct faults_call c = {.env = env};
	struct vrf_id vrf = VRF_DEFAULT;
	const struct config_peer *p;
	json_t *faults;

	if (!rpc_vrf(env, params, &vrf, call) || !rpc_peer(env, params, vrf, &p, call))
		return NULL;
	c.fault = calloc(SESSION_FAULTS, sizeof(*c.fault));
	if (c.fault == NULL)
		return NULL;
	c.id = peers_id(env->peers, p);
	layers_call_session(env->layers, faults_get, &c);
	faults = json_array();
	for (unsigned i = 0; i < c.count; i++)
		json_array_append_new(faults, fault_json(&c.fault[i]));
	free(c.fault);
	return json_pack("{s:o}", "faults", faults);
}

enum { SCOPE_SLOW_PEER = SCOPE_ASN + 1 }; /* of bgp.reset, beside apply_select()'s */

static bool
scope_read(json_t *params, bool reset, unsigned *scope, struct rpc_call *call) RUNS_ON(role_main)
{
	static const char *const words[] = {[SCOPE_ALL] = "all",
		[SCOPE_PEER] = "peer",
		[SCOPE_GROUP] = "group",
		[SCOPE_INTERNAL] = "internal",
		[SCOPE_EXTERNAL] = "external",
		[SCOPE_ASN] = "asn",
		[SCOPE_SLOW_PEER] = "slow-peer"};
	const char *word = NULL;

	if (!rpc_string(params, "scope", &word, call))
		return false;
	for (*scope = 0; *scope <= (reset ? (unsigned)SCOPE_SLOW_PEER : (unsigned)SCOPE_EXTERNAL);
		++*scope) {
		if (strcmp(words[*scope], word) == 0)
			return true;
	}
	rpc_fail(call, RPC_INVALID_PARAMS, "/scope",
		"\"%.64s\" is not one of all, peer, group, internal, external%s", word,
		reset ? ", asn, slow-peer" : "");
	return false;
}

/* Checks a parameter for one scope: required with this scope, refused with any other scope. */
static bool
goes_with(bool given, bool wanted, bool allowed, const char *path, const char *scope,
	struct rpc_call *call)
{
	if (given && !allowed)
		rpc_fail(call, RPC_INVALID_PARAMS, path, "only valid with scope %s", scope);
	else if (!given && wanted)
		rpc_fail(call, RPC_INVALID_PARAMS, path, "is missing");
	else
		return true;
	return false;
}

static bool
selector_scope(struct rpc_env *env, json_t *params, bool reset, struct apply_selector *s,
	bool *slow, struct rpc_call *call) RUNS_ON(role_main)
{
	const struct config_peer *peer;
	json_int_t asn = 0;
	unsigned scope;
	bool good;

	if (!scope_read(params, reset, &scope, call) ||
		!rpc_peer(env, params, s->vrf, &peer, call) ||
		!rpc_group(env, params, &s->group, call) ||
		!rpc_integer(params, "asn", 1, UINT32_MAX, &asn, call))
		return false;
	*slow = scope == SCOPE_SLOW_PEER;
	good = goes_with(peer != NULL, scope == SCOPE_PEER, scope == SCOPE_PEER || *slow, "/peer",
		"peer", call);
	good &= goes_with(s->group != NULL, scope == SCOPE_GROUP, scope == SCOPE_GROUP, "/group",
		"group", call);
	good &= goes_with(asn != 0, scope == SCOPE_ASN, scope == SCOPE_ASN, "/asn", "asn", call);
	if (!good)
		return false;
	s->scope = *slow ? peer != NULL ? SCOPE_PEER : SCOPE_ALL : (enum apply_scope)scope;
	s->asn = (uint32_t)asn;
	if (peer != NULL)
		s->peer = peer->addr;
	return true;
}

bool
rpc_refresh_selector(struct rpc_env *env, json_t *params, struct apply_selector *s, bool *import,
	struct rpc_call *call)
{
	const char *direction = NULL;
	bool slow;

	*s = (struct apply_selector){.vrf = VRF_DEFAULT};
	if (!rpc_family(params, &s->family, call) || !rpc_vrf(env, params, &s->vrf, call) ||
		!rpc_string(params, "direction", &direction, call) ||
		!selector_scope(env, params, false, s, &slow, call))
		return false;
	*import = strcmp(direction, "import") == 0;
	if (*import || strcmp(direction, "export") == 0)
		return true;
	rpc_fail(call, RPC_INVALID_PARAMS, "/direction", "\"%.64s\" is neither import nor export",
		direction);
	return false;
}

static json_t *
bgp_refresh(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_selector s;
	json_t *peers = NULL, *o;
	uint32_t job = 0;
	bool import;
	int err;

	if (!rpc_refresh_selector(env, params, &s, &import, call))
		return NULL;
	err = apply_refresh(env->apply, &s, import, &peers, &job);
	if (err == -ENOENT)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer of this scope has %s",
			family_text(s.family));
	if (err != 0)
		return NULL;
	o = json_pack("{s:o}", "peers", peers);
	json_object_set_new(o, "job", job != 0 ? json_integer(job) : json_null());
	return o;
}

/* ---- bgp.reset ---- */

#define RESET_TEXT_MAX 128 /* RFC 9003 2: octets of UTF-8 */

struct reset {
	struct rpc_env *env;
	struct peer_id id;
	const char *text;
	bool done;
};

static void
reset_session(void *arg) RUNS_ON(role_session)
{
	struct reset *r = arg;

	r->done = session_reset(r->env->layers->speaker, r->id, r->text);
}

/* The families affected by a reset: negotiated families of an established session, and families with retained routes. */
static json_t *
families_dropped(const struct session_view *v)
{
	json_t *families = json_array();

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (v->families[f].retained ||
			(v->state == FSM_ESTABLISHED && v->families[f].negotiated))
			json_array_append_new(families, json_string(family_text((enum family)f)));
	}
	return families;
}

/* True if session_reset() has an effect without an established session: a held session, idle hold, retained routes. */
static bool
waits(const struct session_view *v)
{
	bool any = v->held || v->idle_hold;

	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		any |= v->families[f].retained;
	return any;
}

static json_t *
reset_one(struct rpc_env *env, struct peer_id id, bool force, const char *text) RUNS_ON(role_main)
{
	const struct config_peer *p = peers_config(env->peers, id);
	struct peek peek = {.env = env, .id = id};
	struct reset r = {.env = env, .id = id, .text = text};
	bool can;

	layers_call_session(env->layers, peek_session, &peek);
	can = peek.found && (peek.view.state == FSM_ESTABLISHED || waits(&peek.view));
	/* A peer in idle hold connects at once, but does not count as a reset session. */
	if ((can || peek.view.idle_hold) && force)
		layers_call_session(env->layers, reset_session, &r);
	return json_pack("{s:s, s:s, s:s, s:o}", "address", p->addr_text, "vrf", p->vrf_name,
		"action",
		can && r.done	? "reset"
		: can && !force ? "would-reset"
				: "not-established",
		"families_dropped", families_dropped(&peek.view));
}

/* Keeps the slow peers of `ids`, in order. Their number. */
static unsigned
slow_only(const struct rpc_env *env, enum family f, struct peer_id *ids, unsigned count)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		if (speaker_is_slow(env->layers->speaker, ids[i], f))
			ids[n++] = ids[i];
	return n;
}

static json_t *
bgp_reset(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct apply_selector s = {.vrf = VRF_DEFAULT};
	struct peer_id ids[PEER_MAX];
	const char *text = NULL;
	bool force = false, slow;
	json_t *peers;
	unsigned n;

	if (!rpc_family(params, &s.family, call) || !rpc_vrf(env, params, &s.vrf, call) ||
		!rpc_boolean(params, "force", &force, call) ||
		!rpc_string(params, "text", &text, call) ||
		!selector_scope(env, params, true, &s, &slow, call))
		return NULL;
	if (text != NULL && strlen(text) > RESET_TEXT_MAX)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/text",
			"has %zu octets; at most %d are allowed", strlen(text), RESET_TEXT_MAX);
	n = apply_select(env->apply, &s, ids, PEER_MAX);
	if (n == 0)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope", "no peer of this scope has %s",
			family_text(s.family));
	if (slow) /* keel-policy(7) rule 9: only presently slow peers */
		n = slow_only(env, s.family, ids, n);
	if (n == 0)
		return rpc_fail(call, RPC_NOT_FOUND, "/scope",
			"no peer of this scope with %s is slow now", family_text(s.family));
	peers = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(peers, reset_one(env, ids[i], force, text));
	return json_pack("{s:o}", "peers", peers);
}

static json_t *
jobs_list_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	(void)params;
	(void)call;
	rpc_fib_progress(env);
	return json_pack("{s:o}", "jobs", jobs_list(env->jobs));
}

static json_t *
jobs_get_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_int_t id = 0;
	json_t *job;

	if (!rpc_integer(params, "id", 0, UINT32_MAX, &id, call))
		return NULL;
	rpc_fib_progress(env);
	job = jobs_get(env->jobs, (uint32_t)id);
	return job != NULL ? job
			   : rpc_fail(call, RPC_NOT_FOUND, "/id", "there is no job %lld",
				     (long long)id);
}

/* ---- the methods ---- */

/* rpc_peers.c answers. */
static const struct rpc_field peers_params[] = {
	{"vrf?", "string", "VRF; `default` when absent."},
	{"group?", "string", "Only peers of this group."},
	{"peer?", "address", "Only this peer."},
	{"limit?", "integer=1..10000", "At most so many peers; all when absent."},
	{"cursor?", "string", "The `next` of an earlier answer."},
	{0},
};
static const struct rpc_field peers_result[] = {
	{"peers", "object[]",
		"The peers: those of the configuration in its order, then dynamic ones.",
		peer_fields},
	{"keepalive_late_ns", "object", "How late KEEPALIVE messages to all peers were sent.",
		rpc_histogram_fields},
	{"turn_ns", "object", "Turns of the session thread.", rpc_histogram_fields},
	{"next?", "string", "Cursor of the next page; absent on the last page."},
	{0},
};

static const struct rpc_field fault_fields[] = {
	{"time", "number", "Unix seconds."},
	{"family", "family|null", "Address family; null when the message names none."},
	{"severity", "string",
		"What was done: `discard` (the attribute), `withdraw` (the routes), `disable` (the "
		"family), `reset` (the session)."},
	{"text", "string", "What was wrong with the message."},
	{"prefixes", "integer", "Prefixes in the message."},
	{"length", "integer", "Octets of the message."},
	{"octets", "string", "The message in hexadecimal; the first octets of a long message."},
	{0},
};
static const struct rpc_field faults_params[] = {
	{"peer", "address", "The peer."},
	{"vrf?", "string", "VRF of the peer; `default` when absent."},
	{0},
};
static const struct rpc_field faults_result[] = {
	{"faults", "object[]", "The last 16, the oldest first.", fault_fields},
	{0},
};

static const struct rpc_field refresh_params[] = {
	{"family", "family", "Address family."},
	{"vrf?", "string", "VRF of the peers; `default` when absent."},
	{"scope", "all|peer|group|internal|external",
		"Which sessions with this family. `peer` and `group` need the parameter of that "
		"name."},
	{"peer?", "address", "With scope `peer`: the peer."},
	{"group?", "string", "With scope `group`: the group."},
	{"direction", "import|export", "Import: from the peers. Export: to the peers."},
	{0},
};
static const struct rpc_field refreshed_fields[] = {
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"action", "route-refresh-sent|replayed|readvertised|no-op|unsupported|not-established",
		"What was done."},
	{"reason?", "string", "Why, where the action needs one."},
	{0},
};
static const struct rpc_field refresh_result[] = {
	{"job", "integer|null", "The job that does the work; null when nothing runs."},
	{"peers", "object[]", "One action for each session of the scope.", refreshed_fields},
	{0},
};

static const struct rpc_field reset_params[] = {
	{"family", "family", "Only sessions with this address family."},
	{"vrf?", "string", "VRF of the peers; `default` when absent."},
	{"scope", "all|peer|group|internal|external|asn|slow-peer",
		"Which sessions. `peer`, `group` and `asn` need the parameter of that name; "
		"`slow-peer` takes only peers that are slow now."},
	{"peer?", "address", "With scope `peer`, or to narrow `slow-peer`: the peer."},
	{"group?", "string", "With scope `group`: the group."},
	{"asn?", "integer=1..4294967295", "With scope `asn`: the AS number of the peers."},
	{"force?", "boolean", "True: reset. Otherwise the answer says what would be done."},
	{"text?", "string", "Shutdown communication for the peers (RFC 9003), at most 128 octets."},
	{0},
};
static const struct rpc_field reset_fields[] = {
	{"address", "string", "Address of the peer."},
	{"vrf", "string", "VRF of the peer."},
	{"action", "reset|would-reset|not-established", "What was done, or would be."},
	{"families_dropped", "string[]", "All address families that end with the session."},
	{0},
};
static const struct rpc_field reset_result[] = {
	{"peers", "object[]", "One action for each session of the scope.", reset_fields},
	{0},
};

static const struct rpc_field jobs_result[] = {
	{"jobs", "object[]", "Running jobs, and those that ended last.", rpc_job_fields},
	{0},
};
static const struct rpc_field job_params[] = {
	{"id", "integer=0..4294967295", "Number of the job."},
	{0},
};

const struct rpc_method rpc_bgp_methods[] = {
	{"bgp.peers", rpc_bgp_peers, peers_params, peers_result,
		"Sessions: state, capabilities, counters of each address family", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.faults", bgp_faults, faults_params, faults_result,
		"The last faulty messages of a peer: reason, prefixes, octets", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.refresh", bgp_refresh, refresh_params, refresh_result,
		"Soft reset: applies policies again without ending a session",
		"Import: a peer with route refresh and without `keep_all_routes` gets a "
		"ROUTE-REFRESH for "
		"exactly this family; a peer without it is `unsupported`. With `keep_all_routes`, "
		"a "
		"peer without route refresh is `replayed` from the kept routes, with route refresh "
		"the "
		"action is `no-op`: kept routes are always evaluated by the current policy. "
		"Export: the "
		"whole table is advertised again, between BoRR and EoRR where both sides have "
		"them. A "
		"request while a walk runs costs at most one more walk. No session ends, and no "
		"uptime "
		"changes.",
		RPC_CHANGES, RPC_ERROR(RPC_NOT_FOUND)},
	{"bgp.reset", bgp_reset, reset_params, reset_result,
		"Ends sessions by Cease / Administrative Reset",
		"A session carries all its address families: all of them end with it. The session "
		"starts "
		"again at once. Without `force` nothing is done, and the method is allowed on the "
		"read-only socket.",
		RPC_READS_UNLESS_FORCE, RPC_ERROR(RPC_NOT_FOUND)},
	{"jobs.list", jobs_list_method, NULL, jobs_result,
		"Work that outlasts the answer that began it: refreshes and audits", NULL,
		RPC_READS, 0},
	{"jobs.get", jobs_get_method, job_params, rpc_job_fields, "One job", NULL, RPC_READS,
		RPC_ERROR(RPC_NOT_FOUND)},
	{0},
};
