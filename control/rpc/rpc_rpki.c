/* SPDX-License-Identifier: BSD-3-Clause */
/* rpki.summary and bmp.summary, keel-rpc(7). */
#include "control/rpc/rpc_impl.h"

#include "control/apply/apply.h"
#include "control/bmp/bmp.h"
#include "control/rpki/rpki.h"

static json_t *
rpki_summary_call(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *o = rpki_summary(apply_rpki(env->apply));

	(void)params;
	return o != NULL ? o : rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
}

static const struct rpc_field cache_fields[] = {
	{"address", "address", "Address of the cache."},
	{"port", "integer", "TCP port of the cache."},
	{"preference", "integer", "The lowest value is in use."},
	{"state", "down|connecting|syncing|synced|no-data",
		"State of the connection. `synced`: the data is of this connection."},
	{"used", "boolean", "The data of the cache is in use.",
		GAUGE("keel_rpki_cache_used", "1 while data of the cache is in use.")},
	{"version", "integer", "Version of the protocol: 1 (RFC 8210) or 0 (RFC 6810)."},
	{"session?", "integer", "Session ID of the data."},
	{"serial?", "integer", "Serial number of the data."},
	{"ipv4", "integer", "IPv4 records of the cache."},
	{"ipv6", "integer", "IPv6 records of the cache."},
	{"synced_s?", "number", "Seconds since the last complete answer."},
	{"expires_s?", "number",
		"Time until the data of the cache expires without a further answer.",
		GAUGE("keel_rpki_cache_expires_seconds")},
	{"answers", "integer", "Complete answers of the cache.",
		COUNTER("keel_rpki_cache_answers")},
	{"resets", "integer", "Complete answers with all records."},
	{"errors", "integer", "Connections ended by an error of the protocol, or by silence.",
		COUNTER("keel_rpki_cache_errors")},
	{"error?", "string", "The last error; absent after a complete answer."},
	{0},
};
static const struct rpc_field vrps_fields[] = {
	{"ipv4", "integer", "IPv4 records in use.", GAUGE("keel_rpki_records_ipv4")},
	{"ipv6", "integer", "IPv6 records in use.", GAUGE("keel_rpki_records_ipv6")},
	{0},
};
static const struct rpc_field summary_result[] = {
	{"caches", "object[]", "The caches of the configuration.", cache_fields},
	{"vrps", "object", "The records in use.", vrps_fields},
	{"publications", "integer", "Changes of the records in use since the start."},
	{"changed", "integer", "Records added or removed by these changes.",
		COUNTER("keel_rpki_records_changed",
			"Records added to or removed from the records in use.")},
	{"memory_bytes", "integer", "Memory of all records.", GAUGE("keel_rpki_memory_bytes")},
	{0},
};

static json_t *
bmp_summary_call(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	json_t *o = bmp_summary(apply_bmp(env->apply));

	(void)params;
	return o != NULL ? o : rpc_fail(call, RPC_TRY_AGAIN, "", "out of memory; try again");
}

static const struct rpc_field collector_fields[] = {
	{"address", "address", "Address of the collector."},
	{"port", "integer", "TCP port of the collector."},
	{"state", "down|connecting|up", "State of the connection."},
	{"views", "string[]", "Tables that the collector gets."},
	{"peers", "integer", "Sessions that the collector knows as up."},
	{"synced", "boolean",
		"The collector has been sent all tables, and no peer waits to be sent again.",
		GAUGE("keel_bmp_collector_synced", "1 while the collector has all tables.")},
	{"queued_octets", "integer", "Octets that the collector has not accepted; at most 1 MiB.",
		GAUGE("keel_bmp_collector_queued_bytes")},
	{"messages", "integer", "Messages to the collector, of all connections.",
		COUNTER("keel_bmp_collector_messages", "Messages to the collector.")},
	{"octets", "integer", "Octets that the collector has accepted, of all connections."},
	{"connections", "integer", "Connections so far."},
	{"resyncs", "integer",
		"Tables of a peer sent again, with Peer Down and Peer Up, because changes were "
		"lost: "
		"the collector was slower than the changes.",
		COUNTER("keel_bmp_collector_resyncs",
			"Tables of a peer sent again because changes were lost.")},
	{"stalls", "integer",
		"Connections that ended because the collector accepted no octets for `stall_s`.",
		COUNTER("keel_bmp_collector_stalls")},
	{"up_s?", "number", "Seconds since the connection."},
	{"error?", "string", "Why the last connection ended."},
	{0},
};

static const struct rpc_field bmp_summary_result[] = {
	{"collectors", "object[]", "The collectors.", collector_fields},
	{"lost", "integer", "How often changes of paths came faster than they were read.",
		COUNTER("keel_bmp_lost")},
	{"memory_bytes", "integer", "Memory for BMP.", GAUGE("keel_bmp_memory_bytes")},
	{0},
};

const struct rpc_method rpc_rpki_methods[] = {
	{"rpki.summary", rpki_summary_call, NULL, summary_result,
		"RPKI caches, and the records in use", NULL, RPC_READS, RPC_ERROR(RPC_TRY_AGAIN)},
	{"bmp.summary", bmp_summary_call, NULL, bmp_summary_result, "Collectors of BMP (RFC 7854)",
		NULL, RPC_READS, RPC_ERROR(RPC_TRY_AGAIN)},
	{0},
};
