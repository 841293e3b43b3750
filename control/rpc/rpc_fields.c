/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of results that several methods share, and the encoder of tables. */
#include "control/rpc/rpc_call.h"

#define HIST_NUMBER(member) RPC_NUMBER(#member, 0, struct hist_summary, member)
const struct rpc_field rpc_histogram_fields[] = {
	{HIST_NUMBER(count) "Number of measurements."},
	{HIST_NUMBER(min) "Shortest, in nanoseconds."},
	{HIST_NUMBER(p50) "Median, in nanoseconds."},
	{HIST_NUMBER(p90) "90th percentile, in nanoseconds."},
	{HIST_NUMBER(p99) "99th percentile, in nanoseconds."},
	{HIST_NUMBER(p999) "99.9th percentile, in nanoseconds."},
	{HIST_NUMBER(max) "Longest, in nanoseconds."},
	{0},
};

static const struct rpc_field aggregator_fields[] = {
	{"asn", "integer", "AS number of the router that aggregated."},
	{"address", "string", "Its BGP identifier."},
	{0},
};

static const struct rpc_field unknown_fields[] = {
	{"type", "integer", "Type code."},
	{"flags", "integer", "Flags: optional (128), transitive (64), partial (32)."},
	{"value", "string", "Hexadecimal digits of the value."},
	{0},
};

const struct rpc_field rpc_route_fields[] = {
	{"prefix", "prefix", "The prefix."},
	{"rd?", "string", "Route distinguisher of a VPN route, as `64512:1`."},
	{"labels?", "integer[]", "MPLS labels of a VPN route."},
	{"peer", "string|null",
		"Address of the peer that announced the route; null for a route of "
		"this router."},
	{"best", "boolean", "The decision process chose this route."},
	{"valid", "boolean",
		"The route may be chosen: policy accepted it and its next hop resolves."},
	{"stale", "boolean",
		"Kept from before a refresh or a restart, and not announced again yet."},
	{"age_s", "integer", "Seconds since the route changed."},
	{"path_id?", "integer", "Path identifier (RFC 7911)."},
	{"source?", "connected|static|external|kernel|internal|network",
		"Of a route of this router: where it comes from."},
	{"multipath?", "boolean", "Forwards together with the best route."},
	{"installed?", "boolean",
		"False when the forwarding table had no room for the best route."},
	{"reason?", "string",
		"Why the route is not best: `llgr-stale` `local-pref` `as-path-length` `origin` "
		"`med` "
		"`external` "
		"`igp-metric` `router-id` `cluster-length` `peer-address` `path-id` `preference` "
		"`next-hop-unreachable` `as-loop` `originator-loop` `cluster-loop` "
		"`rejected-by-policy` `no-policy`, or `equal`."},
	{"as_path", "string",
		"AS_PATH in plain numbers; a set as {1,2}, a confederation as (1 2)."},
	{"origin", "igp|egp|incomplete", "ORIGIN."},
	{"next_hop?", "address", "NEXT_HOP."},
	{"next_hop_link_local?", "address", "Link-local next hop beside it (RFC 2545)."},
	{"local_pref?", "integer", "LOCAL_PREF."},
	{"med?", "integer", "MULTI_EXIT_DISC."},
	{"communities?", "string[]", "As `64512:7`, or a well-known name."},
	{"large_communities?", "string[]", "As `1:2:3`."},
	{"ext_communities?", "string[]",
		"As `rt:64512:1`, `soo:64512:1`, or 0x and 16 hexadecimal digits."},
	{"atomic_aggregate?", "boolean", "ATOMIC_AGGREGATE is present."},
	{"aggregator?", "object", "AGGREGATOR.", aggregator_fields},
	{"originator_id?", "string", "ORIGINATOR_ID (RFC 4456)."},
	{"cluster_list?", "string[]", "CLUSTER_LIST (RFC 4456)."},
	{"only_to_customer?", "integer", "The AS number of Only to Customer (RFC 9234)."},
	{"unknown_attributes?", "object[]",
		"Optional transitive attributes that this router does not know, and passes on.",
		unknown_fields},
	{"validation?", "valid|invalid|not-found",
		"Origin validation (RFC 6811) by the records in use; absent without an RPKI cache "
		"that has answered, for VPN routes and with `adj-out`."},
	{0},
};

const struct rpc_field rpc_job_fields[] = {
	{"id", "integer", "Number of the job."},
	{"kind", "audit|refresh-import|refresh-export", "What the job does."},
	{"state", "running|done|failed", "Whether the job has ended."},
	{"done", "integer", "Parts that are done: peers of a refresh, prefixes of an audit."},
	{"total", "integer", "All parts; of a running audit an estimate."},
	{"started_s", "number", "Begin, in Unix seconds."},
	{"finished_s", "number|null", "End, in Unix seconds; null while the job runs."},
	{"result", "any",
		"Null while the job runs. Of an audit as `fib.audit` answers; of a failed job an "
		"object "
		"with `reason`."},
	{0},
};

const struct rpc_field rpc_effect_fields[] = {
	{"address", "address|null", "Address of the peer; null in an effect on an instance."},
	{"vrf", "string", "VRF of the peer, or the VPN instance."},
	{"family", "family|null", "Address family; null in an effect on an instance."},
	{"direction", "import|export|null",
		"The direction that the commit touches; null in an effect on an instance."},
	{"effect",
		"route-refresh-sent|replayed|readvertised|session-reset|not-applied|none|"
		"instance-added|instance-changed|instance-removed",
		"What the commit does about it. `not-applied`: the change reaches the peer only "
		"when "
		"the session is established again; `reason` says why."},
	{"reason?", "string", "Why the effect is this one."},
	{"job?", "integer", "The job that does the work; see `jobs.get`."},
	{0},
};

static const struct rpc_field kept_fields[] = {
	{"*", "any", "The members of a route of `rib.routes`."},
	{0},
};
const struct rpc_field rpc_refused_fields[] = {
	{"prefix", "prefix", "The prefix."},
	{"peer", "string", "Address of the peer."},
	{"cause", "string", "The cause, as in `bgp.peers`."},
	{"age_s", "number", "Seconds since then."},
	{"time", "number", "Unix seconds at which the announcement was refused."},
	{"policy?", "string", "With cause `policy`: the import policy in force."},
	{"node?", "integer|null",
		"With cause `policy`: `seq` of the node; null when no node matched."},
	{"line?", "string", "As in `import` of `rib.fate`. Of a kept announcement."},
	{"route?", "object",
		"The announcement as received, where it is kept. `rib.fate` has it in `paths`.",
		kept_fields},
	{0},
};

const struct rpc_field rpc_alarm_fields[] = {
	{"time", "number", "Unix seconds at which the alarm was raised."},
	{"kind", "string", "Kind of the alarm; see ALARMS."},
	{"text", "string", "What is wrong, for people."},
	{"peer?", "address", "The peer, where the alarm is about one."},
	{"vrf?", "string", "Its VRF."},
	{"family?", "family", "Its address family."},
	{"port?", "string", "Of kinds `port` and `duplicate-address`: the port."},
	{"address?", "address", "Of kind `duplicate-address`: the address."},
	{"state?", "down|missing|failed", "Its state."},
	{"reason?", "string|null", "Why."},
	{0},
};

/* NULL: a member without `from`, or a zero that is left out. */
static json_t *
encode_one(const struct rpc_field *f, const void *const objects[]) /* NOLINT(misc-no-recursion) */
{
	const void *at = (const char *)objects[f->from.of] + f->from.at, *parts[4] = {0};
	uint64_t number;

	if (f->from.size == 0)
		return NULL;
	parts[f->from.of] = at;
	if (f->members != NULL)
		return rpc_encode(f->members, parts, NULL);
	number = f->from.size == sizeof(uint8_t)    ? *(const uint8_t *)at
		 : f->from.size == sizeof(uint16_t) ? *(const uint16_t *)at
		 : f->from.size == sizeof(uint32_t)
			 ? *(const uint32_t *)at
			 : __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
	if (number == 0 && rpc_field_optional(f))
		return NULL;
	return *f->type == 'b' ? json_boolean(number) : json_integer((json_int_t)number);
}

json_t *
rpc_encode(const struct rpc_field *fields, const void *const objects[], json_t *made)
{
	json_t *o = json_object();

	for (const struct rpc_field *f = fields; f->name != NULL; f++) {
		char name[RPC_NAME_MAX];
		json_t *v = encode_one(f, objects);

		rpc_field_name(f, name);
		if (v == NULL)
			v = json_incref(json_object_get(made, name));
		if (v != NULL)
			json_object_set_new(o, name, v);
	}
	json_decref(made);
	return o;
}
