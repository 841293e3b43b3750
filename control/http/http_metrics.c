/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET /metrics: one table of metrics. The samples are taken from the answers of RPC methods. OpenMetrics 1.0, or the text format 0.0.4. Main only.
 */
#include "control/http/http_metrics.h"

#include "rib/shard/refused.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum kind { GAUGE, COUNTER, SUMMARY, INFO };

/* ---- sources of samples ---- */

/* In the order of the page. */
enum source {
	OF_VERSION,
	OF_SYSTEM,
	OF_ALARM,
	OF_PEER,
	OF_FALL,
	OF_FAMILY,
	OF_REFUSED,
	OF_THREAD,
	OF_CONTROL,
	OF_RPC,
	OF_TABLE,
	OF_RIB,
	OF_FIB,
	OF_FIB_TABLE,
	OF_PORT,
	OF_HOST,
	OF_DATAPLANE,
	OF_PORT_DROP,
	OF_DRIVER,
	OF_WORKER,
	OF_DROP,
	OF_RPKI,
	OF_CACHE,
	OF_BMP,
	OF_COLLECTOR,
	OF_MRT,
	SOURCES
};

#define LABELS_MAX 7
/* Label keys: the name of the member of `map`, and of the member of `inner`. */
#define MEMBER "/"
#define INNER "//"
#define PEER_LABELS "peer", "vrf", "asn", "group", "description"
#define PEER_KEYS "address", "vrf", "asn", "group", "description"

/*
 * One sample for each element of an array in a method's answer (`rows` NULL: for the answer). With `map`, one sample for each member of the object `map` in
 * a row. With `inner`, one for each member of the object `inner` in a member of `map`.
 */
static const struct metric_source {
	const char *method, *rows, *map;
	const char *label[LABELS_MAX], *label_key[LABELS_MAX];
	const char *inner;
} metric_sources[SOURCES] = {
	[OF_VERSION] = {"system.info", NULL, NULL, {"version"}, {"version"}},
	[OF_SYSTEM] = {"system.info", NULL, NULL, {0}, {0}},
	[OF_ALARM] = {"system.info", NULL, "alarm_counts", {"kind"}, {MEMBER}},
	[OF_PEER] = {"bgp.peers", "peers", NULL, {PEER_LABELS}, {PEER_KEYS}},
	[OF_FALL] = {"bgp.peers", "peers", "falls", {PEER_LABELS, "cause"}, {PEER_KEYS, MEMBER}},
	[OF_FAMILY] = {"bgp.peers", "peers", "families", {PEER_LABELS, "family"},
		{PEER_KEYS, MEMBER}},
	[OF_REFUSED] = {"bgp.peers", "peers", "families", {PEER_LABELS, "family", "cause"},
		{PEER_KEYS, MEMBER, INNER}, "refused"},
	[OF_THREAD] = {"control.stats", "threads", NULL, {"thread"}, {"name"}},
	[OF_CONTROL] = {"control.stats", NULL, NULL, {0}, {0}},
	[OF_RPC] = {"control.stats", NULL, "rpc", {"result"}, {MEMBER}},
	[OF_TABLE] = {"rib.summary", "tables", NULL, {"vrf", "family"}, {"vrf", "family"}},
	[OF_RIB] = {"rib.summary", NULL, NULL, {0}, {0}},
	[OF_FIB] = {"fib.stats", NULL, NULL, {0}, {0}},
	[OF_FIB_TABLE] = {"fib.stats", "tables", NULL, {"vrf", "family"}, {"vrf", "family"}},
	[OF_PORT] = {"dataplane.stats", "ports", NULL, {"port"}, {"name"}},
	[OF_HOST] = {"dataplane.stats", "ports", "host", {"port", "class"}, {"name", MEMBER}},
	[OF_DATAPLANE] = {"dataplane.stats", NULL, NULL, {0}, {0}},
	[OF_PORT_DROP] = {"dataplane.stats", "ports", "drops", {"port", "reason"},
		{"name", MEMBER}},
	[OF_DRIVER] = {"dataplane.stats", "ports", "driver", {"port", "counter"}, {"name", MEMBER}},
	[OF_WORKER] = {"dataplane.stats", "workers", NULL, {"cpu"}, {"cpu"}},
	[OF_DROP] = {"dataplane.stats", "workers", "drops", {"cpu", "reason"}, {"cpu", MEMBER}},
	[OF_RPKI] = {"rpki.summary", NULL, NULL, {0}, {0}},
	[OF_CACHE] = {"rpki.summary", "caches", NULL, {"cache", "port"}, {"address", "port"}},
	[OF_BMP] = {"bmp.summary", NULL, NULL, {0}, {0}},
	[OF_COLLECTOR] = {"bmp.summary", "collectors", NULL, {"collector", "port"},
		{"address", "port"}},
	[OF_MRT] = {"mrt.summary", "files", NULL, {"file", "kind"}, {"file", "kind"}},
};

/* ---- the metrics ---- */

/* keel-rpc(7) (scripts/reference) is made from this table. Summaries are in seconds, the members of the answers in nanoseconds. */
static const struct metric {
	const char *name; /* without the _total of a counter and the _info of an info */
	enum kind kind;
	enum source source;
	const char *key; /* member of the row; "a/b": member of a member; NULL: the row itself */
	const char *help;
} metrics[] = {
	{"keel_build", INFO, OF_VERSION, NULL, "Version of the daemon."},
	{"keel_uptime_seconds", GAUGE, OF_SYSTEM, "uptime_s", "Time since the daemon started."},
	{"keel_configuration_revision", GAUGE, OF_SYSTEM, "revision",
		"Revision of the running configuration."},
	{"keel_alarms", GAUGE, OF_ALARM, NULL, "Alarms that are raised now, by kind."},
	{"keel_policy_match_errors", COUNTER, OF_SYSTEM, "policy_limit_hits",
		"Routes rejected because a regular expression exceeded its match limit."},
	{"keel_peer_established", GAUGE, OF_PEER, "state", "1 while the session is established."},
	{"keel_peer_uptime_seconds", GAUGE, OF_PEER, "uptime_s",
		"Time since the session is established."},
	{"keel_peer_sessions", COUNTER, OF_PEER, "established_count",
		"Times the session was established."},
	{"keel_peer_session_ends", COUNTER, OF_FALL, NULL,
		"Ends of established sessions, by cause."},
	{"keel_peer_output_octets", GAUGE, OF_PEER, "output_octets",
		"Octets for the peer that the kernel has not accepted."},
	{"keel_peer_input_octets", GAUGE, OF_PEER, "input_octets",
		"Octets of the peer that are read and not handled."},
	{"keel_peer_memory_bytes", GAUGE, OF_PEER, "memory_bytes",
		"Memory that the routes of the peer take."},
	{"keel_peer_messages_received", COUNTER, OF_PEER, "messages_received",
		"BGP messages from the peer."},
	{"keel_peer_messages_sent", COUNTER, OF_PEER, "messages_sent", "BGP messages to the peer."},
	{"keel_peer_updates_received", COUNTER, OF_PEER, "updates_received",
		"UPDATE messages from the peer."},
	{"keel_peer_updates_sent", COUNTER, OF_PEER, "updates_sent",
		"UPDATE messages to the peer."},
	{"keel_peer_routes_received", GAUGE, OF_FAMILY, "received", "Routes stored."},
	{"keel_peer_routes_accepted", GAUGE, OF_FAMILY, "accepted",
		"Routes that the import policy accepts."},
	{"keel_peer_routes_advertised", GAUGE, OF_FAMILY, "advertised",
		"Routes advertised to the peer."},
	{"keel_peer_routes_rejected", COUNTER, OF_FAMILY, "rejected_total",
		"Prefixes refused since the session came up."},
	{"keel_peer_refused", COUNTER, OF_REFUSED, NULL,
		"Prefixes refused since the session came up, by cause."},
	{"keel_peer_routes_unusable", GAUGE, OF_REFUSED, NULL,
		"Routes stored that cannot be used now: their next hop is not valid, or the "
		"forwarding tables have no room, by cause."},
	{"keel_peer_prefix_limit", GAUGE, OF_FAMILY, "max_prefixes/limit",
		"Limit of prefixes, where `max_prefixes` is set."},
	{"keel_peer_prefix_limit_exceeded", GAUGE, OF_FAMILY, "max_prefixes/exceeded",
		"1 after the limit of prefixes was exceeded."},
	{"keel_peer_advertised_limit", GAUGE, OF_FAMILY, "max_prefixes_out/limit",
		"Limit of advertised prefixes, where `max_prefixes_out` is set."},
	{"keel_peer_advertised_limit_exceeded", GAUGE, OF_FAMILY, "max_prefixes_out/exceeded",
		"1 while the limit of advertised prefixes is exceeded."},
	{"keel_peer_blackholed", COUNTER, OF_FAMILY, "blackholed_total",
		"Routes accepted by `blackhole` since the session came up."},
	{"keel_peer_group_behind", GAUGE, OF_FAMILY, "update_group/behind",
		"Members of the update group of the peer that are behind the others."},
	{"keel_peer_slow", GAUGE, OF_FAMILY, "slow", "1 while the peer is slow."},
	{"keel_peer_slow_detections", COUNTER, OF_FAMILY, "slow_total",
		"Times the peer became slow."},
	{"keel_peer_refresh_requests_sent", COUNTER, OF_FAMILY, "refresh/requests_sent",
		"ROUTE-REFRESH requests to the peer."},
	{"keel_peer_refresh_requests_received", COUNTER, OF_FAMILY, "refresh/requests_received",
		"ROUTE-REFRESH requests from the peer."},
	{"keel_peer_refresh_served", COUNTER, OF_FAMILY, "refresh/served",
		"Walks through the table sent to the peer for its requests."},
	{"keel_peer_stale_swept", COUNTER, OF_FAMILY, "refresh/stale_swept",
		"Routes deleted because a refresh did not announce them again."},
	{"keel_thread_cpu_seconds", COUNTER, OF_THREAD, "cpu_s",
		"Processor time of a control thread."},
	{"keel_thread_late_turns", COUNTER, OF_THREAD, "late_turns",
		"Turns of a control thread that lasted 1 s or longer."},
	{"keel_thread_slice_seconds", SUMMARY, OF_THREAD, "slice_ns",
		"Slices of work that lasted 10 us or longer; a slice may take 1 ms."},
	{"keel_thread_turn_seconds", SUMMARY, OF_THREAD, "turn_ns",
		"Turns of a thread's loop that lasted 10 us or longer, without sleep."},
	{"keel_keepalive_late_seconds", SUMMARY, OF_CONTROL, "keepalive_late_ns",
		"How late KEEPALIVE messages were sent."},
	{"keel_log_lines", COUNTER, OF_CONTROL, "log/written", "Log lines written."},
	{"keel_log_lines_lost", COUNTER, OF_CONTROL, "log/lost",
		"Log lines lost because standard error was not read, or its disk was full."},
	{"keel_log_lines_waiting", GAUGE, OF_CONTROL, "log/waiting", "Log lines not written yet."},
	{"keel_commits", COUNTER, OF_CONTROL, "commits", "Commits of configurations."},
	{"keel_rpc_calls", COUNTER, OF_RPC, NULL, "Calls of JSON-RPC methods, by result."},
	{"keel_process_cpu_seconds", COUNTER, OF_CONTROL, "process/cpu_s",
		"Processor time of the process, workers included."},
	{"keel_process_resident_memory_bytes", GAUGE, OF_CONTROL, "process/resident_bytes",
		"Resident memory of the process."},
	{"keel_process_virtual_memory_bytes", GAUGE, OF_CONTROL, "process/virtual_bytes",
		"Virtual memory of the process."},
	{"keel_process_open_fds", GAUGE, OF_CONTROL, "process/open_fds", "Open descriptors."},
	{"keel_process_max_fds", GAUGE, OF_CONTROL, "process/max_fds",
		"Limit of open descriptors."},
	{"keel_process_start_time_seconds", GAUGE, OF_CONTROL, "process/started_s",
		"Unix time of the start of the daemon."},
	{"keel_rib_prefixes", GAUGE, OF_TABLE, "prefixes", "Destinations."},
	{"keel_rib_paths", GAUGE, OF_TABLE, "paths", "Paths to destinations."},
	{"keel_rib_memory_bytes", GAUGE, OF_RIB, "tables/0/memory_bytes",
		"Memory of all tables and attribute sets."},
	{"keel_fib_generation", GAUGE, OF_FIB, "generation",
		"Generation of the forwarding tables."},
	{"keel_fib_commits", COUNTER, OF_FIB, "commits", "Transactions of the forwarding tables."},
	{"keel_fib_commits_delayed", COUNTER, OF_FIB, "commits_delayed",
		"Transactions delayed by a worker that did not run."},
	{"keel_fib_grace_late", COUNTER, OF_FIB, "grace_late",
		"Grace periods that lasted longer than 1 ms."},
	{"keel_fib_commit_seconds", SUMMARY, OF_FIB, "commit_ns", "Duration of a transaction."},
	{"keel_fib_grace_seconds", SUMMARY, OF_FIB, "grace_ns",
		"Time until no worker used the replaced entries."},
	{"keel_update_to_fib_seconds", SUMMARY, OF_FIB, "update_to_fib_ns",
		"From reading an UPDATE to its change in the forwarding tables."},
	{"keel_update_to_workers_seconds", SUMMARY, OF_FIB, "update_to_workers_ns",
		"From reading an UPDATE until all workers use the change."},
	{"keel_link_loss_seconds", SUMMARY, OF_FIB, "link_ns",
		"From the loss of a link until packets took their other paths."},
	{"keel_fib_routes", GAUGE, OF_FIB_TABLE, "routes", "Prefixes in the forwarding tables."},
	{"keel_fib_not_installed", GAUGE, OF_FIB_TABLE, "not_installed",
		"Prefixes for which the forwarding table has no room."},
	{"keel_fib_memory_bytes", GAUGE, OF_FIB_TABLE, "memory_bytes",
		"Memory of the forwarding table."},
	{"keel_fib_writes", COUNTER, OF_FIB_TABLE, "writes", "Entries changed."},
	{"keel_port_up", GAUGE, OF_PORT, "state", "1 while the port has a link."},
	{"keel_port_speed_mbps", GAUGE, OF_PORT, "speed_mbps",
		"Speed of the link in Mbit/s, where it is known."},
	{"keel_port_rx_packets", COUNTER, OF_PORT, "rx_packets", "Packets received."},
	{"keel_port_tx_packets", COUNTER, OF_PORT, "tx_packets", "Packets sent."},
	{"keel_port_rx_bytes", COUNTER, OF_PORT, "rx_bytes", "Octets received."},
	{"keel_port_tx_bytes", COUNTER, OF_PORT, "tx_bytes", "Octets sent."},
	{"keel_port_rx_missed", COUNTER, OF_PORT, "rx_missed",
		"Packets lost because the receive queue was full."},
	{"keel_port_tx_dropped", COUNTER, OF_PORT, "tx_dropped",
		"Packets dropped because the transmit queue was full."},
	{"keel_port_drops", COUNTER, OF_PORT_DROP, NULL, "Packets that a port lost, by reason."},
	{"keel_port_driver", COUNTER, OF_DRIVER, NULL,
		"Counters of the driver of a port (xstats of DPDK), by the name that the driver "
		"uses."},
	{"keel_neighbor_requests_held", COUNTER, OF_DATAPLANE, "neighbors/held",
		"Requests for neighbours held back because others are not answered."},
	{"keel_neighbor_requests_refused", COUNTER, OF_DATAPLANE, "neighbors/refused",
		"Requests for neighbours refused by the kernel because its table is full."},
	{"keel_host_passed", COUNTER, OF_HOST, "passed",
		"Packets for this router handed to the kernel, by class."},
	{"keel_host_policed", COUNTER, OF_HOST, "policed",
		"Packets for this router above the limit of their class."},
	{"keel_host_lost", COUNTER, OF_HOST, "lost",
		"Packets for this router that the kernel did not take."},
	{"keel_worker_received_ipv4", COUNTER, OF_WORKER, "received_ipv4",
		"IPv4 packets received."},
	{"keel_worker_received_ipv6", COUNTER, OF_WORKER, "received_ipv6",
		"IPv6 packets received."},
	{"keel_worker_forwarded", COUNTER, OF_WORKER, "forwarded", "Packets forwarded."},
	{"keel_worker_punted", COUNTER, OF_WORKER, "punted", "Packets handed to the kernel."},
	{"keel_worker_icmp_errors", COUNTER, OF_WORKER, "icmp_errors", "ICMP errors made."},
	{"keel_worker_fragments", COUNTER, OF_WORKER, "fragments",
		"Fragments sent, made of larger IPv4 packets."},
	{"keel_worker_waiting", GAUGE, OF_WORKER, "waiting",
		"Packets that wait for the link-layer address of a neighbour."},
	{"keel_worker_drops", COUNTER, OF_DROP, NULL, "Packets dropped, by reason."},
	{"keel_rpki_records_ipv4", GAUGE, OF_RPKI, "vrps/ipv4", "IPv4 records in use."},
	{"keel_rpki_records_ipv6", GAUGE, OF_RPKI, "vrps/ipv6", "IPv6 records in use."},
	{"keel_rpki_records_changed", COUNTER, OF_RPKI, "changed",
		"Records added to or removed from the records in use."},
	{"keel_rpki_memory_bytes", GAUGE, OF_RPKI, "memory_bytes", "Memory of all records."},
	{"keel_rpki_cache_used", GAUGE, OF_CACHE, "used", "1 while data of the cache is in use."},
	{"keel_rpki_cache_expires_seconds", GAUGE, OF_CACHE, "expires_s",
		"Time until the data of the cache expires without a further answer."},
	{"keel_rpki_cache_answers", COUNTER, OF_CACHE, "answers", "Complete answers of the cache."},
	{"keel_rpki_cache_errors", COUNTER, OF_CACHE, "errors",
		"Connections ended by an error of the protocol, or by silence."},
	{"keel_bmp_lost", COUNTER, OF_BMP, "lost",
		"How often changes came faster than they were read for BMP."},
	{"keel_bmp_memory_bytes", GAUGE, OF_BMP, "memory_bytes", "Memory for BMP."},
	{"keel_bmp_collector_synced", GAUGE, OF_COLLECTOR, "synced",
		"1 while the collector has all tables."},
	{"keel_bmp_collector_queued_bytes", GAUGE, OF_COLLECTOR, "queued_octets",
		"Octets that the collector has not accepted."},
	{"keel_bmp_collector_messages", COUNTER, OF_COLLECTOR, "messages",
		"Messages to the collector."},
	{"keel_bmp_collector_resyncs", COUNTER, OF_COLLECTOR, "resyncs",
		"Tables of a peer sent again because changes were lost."},
	{"keel_bmp_collector_stalls", COUNTER, OF_COLLECTOR, "stalls",
		"Connections that ended because the collector accepted nothing."},
	{"keel_mrt_files", COUNTER, OF_MRT, "files",
		"Complete table dumps, or opened files of messages."},
	{"keel_mrt_records", COUNTER, OF_MRT, "records", "Records written to the files."},
	{"keel_mrt_octets", COUNTER, OF_MRT, "octets", "Octets written to the files."},
	{"keel_mrt_drops", COUNTER, OF_MRT, "drops",
		"Messages or routes that were not written to the files."},
	{"keel_mrt_skipped", COUNTER, OF_MRT, "skipped",
		"Dumps left out because the dump before still ran."},
	{"keel_mrt_written_seconds", GAUGE, OF_MRT, "written",
		"Unix time of the last complete dump, or of the last record."},
	{"keel_worker_loop_gap_seconds", SUMMARY, OF_WORKER, "loop_gap_ns",
		"Time between two polls of a worker."},
};

#define METRICS (sizeof(metrics) / sizeof(metrics[0]))

/* The calls of a page, in order; the first one until all peers have come. */
static const char *const methods[] = {"bgp.peers", "system.info", "control.stats", "rib.summary",
	"rpki.summary", "bmp.summary", "mrt.summary", "fib.stats", "dataplane.stats"};
#define METHODS (sizeof(methods) / sizeof(methods[0]))
#define PEERS 64u /* of one call: bounds the memory of an answer */

/* A page in the making. Each metric has a separate text: the samples of a metric must be adjacent, and peers come in several answers. */
struct http_metrics {
	enum http_metrics_format format;
	unsigned method; /* of the next call */
	char cursor[24]; /* of the next peers; "": the first ones */
	char request[160];
	FILE *part[METRICS];
	char *text[METRICS];
	size_t len[METRICS];
};

/* ---- samples ---- */

static bool
is_text_format(const struct http_metrics *m)
{
	return m->format == HTTP_METRICS_TEXT;
}

/* The suffix of a sample's name in OpenMetrics. */
static const char *
suffix(enum kind kind)
{
	return kind == COUNTER ? "_total" : kind == INFO ? "_info" : "";
}

/* In text format 0.0.4 the family has the name of the samples, and the type info does not exist. */
static void
head(const struct http_metrics *m, unsigned i)
{
	static const char *const types[] = {
		[GAUGE] = "gauge", [COUNTER] = "counter", [SUMMARY] = "summary", [INFO] = "info"};
	const struct metric *metric = &metrics[i];
	bool text = is_text_format(m);
	const char *end = text ? suffix(metric->kind) : "";

	fprintf(m->part[i], "# TYPE %s%s %s\n# HELP %s%s %s\n", metric->name, end,
		text && metric->kind == INFO ? "gauge" : types[metric->kind], metric->name, end,
		metric->help);
}

/* A label with its value escaped. */
static void
label(FILE *f, const char *separator, const char *key, const char *value)
{
	fprintf(f, "%s%s=\"", separator, key);
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '"' || *value == '\\')
			fprintf(f, "\\%c", *value);
		else
			fputc(*value, f);
	}
	fputc('"', f);
}

/* The names of the members of the maps at which a sample is. */
struct members {
	const char *member, *inner;
};

/* `name{labels`, without the closing brace. True: there are labels. */
static bool
sample_begin(
	FILE *f, const struct metric *metric, const char *end, const json_t *row, struct members at)
{
	const struct metric_source *s = &metric_sources[metric->source];
	unsigned i;

	fprintf(f, "%s%s{", metric->name, end);
	for (i = 0; i < LABELS_MAX && s->label[i] != NULL; i++) {
		const char *key = s->label_key[i];
		const json_t *v = json_object_get(row, key);
		const char *text = strcmp(key, MEMBER) == 0  ? at.member
				   : strcmp(key, INNER) == 0 ? at.inner
							     : json_string_value(v);
		char number[24];

		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		label(f, i > 0 ? "," : "", s->label[i],
			text != NULL	     ? text
			: json_is_integer(v) ? number
					     : "");
	}
	return i > 0;
}

/* An array counts its elements; a text is 1 when the session is established, or the port is up. */
static void
number(FILE *f, const json_t *v)
{
	if (json_is_boolean(v))
		fprintf(f, "} %d\n", json_is_true(v));
	else if (json_is_real(v))
		fprintf(f, "} %.6f\n", json_real_value(v));
	else if (json_is_array(v))
		fprintf(f, "} %zu\n", json_array_size(v));
	else if (json_is_string(v))
		fprintf(f, "} %d\n",
			strcmp(json_string_value(v), "established") == 0 ||
				strcmp(json_string_value(v), "up") == 0);
	else
		fprintf(f, "} %lld\n", (long long)json_integer_value(v));
}

static void
summary(FILE *f, const struct metric *metric, const json_t *row, const json_t *hist)
{
	static const struct {
		const char *quantile, *key;
	} points[] = {{"0", "min"}, {"0.5", "p50"}, {"0.9", "p90"}, {"0.99", "p99"},
		{"0.999", "p999"}, {"1", "max"}};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		bool more = sample_begin(f, metric, "", row, (struct members){0});

		label(f, more ? "," : "", "quantile", points[i].quantile);
		fprintf(f, "} %.9f\n",
			(double)json_integer_value(json_object_get(hist, points[i].key)) / 1e9);
	}
	sample_begin(f, metric, "_count", row, (struct members){0});
	number(f, json_object_get(hist, "count"));
}

/*
 * Follows `key`, names and array indices separated by "/" (as "a/0/b"), from `v`. NULL: there is no
 * such value.
 */
static const json_t *
value_at(const json_t *v, const char *key)
{
	char name[64];

	for (; key != NULL && v != NULL; key = *key == '/' ? key + 1 : NULL) {
		size_t len = strcspn(key, "/");

		snprintf(name, sizeof(name), "%.*s", (int)len, key);
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(name))
				     : json_object_get(v, name);
		key += len;
	}
	return json_is_null(v) ? NULL : v;
}

static void
member_sample(const struct http_metrics *m, unsigned i, const json_t *row, const json_t *of_member,
	struct members at)
{
	const struct metric *metric = &metrics[i];
	const json_t *v = value_at(of_member, metric->key);

	if (v == NULL)
		return;
	sample_begin(m->part[i], metric, suffix(metric->kind), row, at);
	number(m->part[i], v);
}

/* True for the causes that count the paths in a state now (rib/shard/refused.h): such a number also falls. */
static bool
is_state(const char *cause)
{
	return strcmp(cause, refused_text(REFUSED_NEXT_HOP)) == 0 ||
	       strcmp(cause, refused_text(REFUSED_NOT_INSTALLED)) == 0;
}

static void
sample(const struct http_metrics *m, unsigned i, const json_t *row)
{
	const struct metric *metric = &metrics[i];
	const char *map = metric_sources[metric->source].map, *member, *name;
	const char *inner = metric_sources[metric->source].inner;
	json_t *of_member, *of_inner;

	if (map == NULL) {
		const json_t *v = value_at(row, metric->key);

		if (v == NULL)
			return;
		if (metric->kind == SUMMARY) {
			summary(m->part[i], metric, row, v);
			return;
		}
		sample_begin(m->part[i], metric, suffix(metric->kind), row, (struct members){0});
		if (metric->kind == INFO)
			fputs("} 1\n", m->part[i]);
		else
			number(m->part[i], v);
		return;
	}
	json_object_foreach(json_object_get(row, map), member, of_member)
	{
		if (inner == NULL)
			member_sample(m, i, row, of_member, (struct members){member, NULL});
		json_object_foreach(json_object_get(of_member, inner), name, of_inner)
		{
			if (is_state(name) == (metric->kind == GAUGE))
				member_sample(m, i, row, of_inner, (struct members){member, name});
		}
	}
}

/* ---- the page ---- */

/* All samples of one answer; `first`: of the method. */
static void
samples_of(struct http_metrics *m, const char *method, const json_t *answer, bool first)
{
	json_t *row;
	size_t at;

	for (unsigned i = 0; i < METRICS; i++) {
		const struct metric_source *s = &metric_sources[metrics[i].source];

		if (strcmp(s->method, method) != 0)
			continue;
		if (first)
			head(m, i);
		if (s->rows == NULL) {
			sample(m, i, answer);
			continue;
		}
		json_array_foreach(json_object_get(answer, s->rows), at, row) sample(m, i, row);
	}
}

/* False: a part is incomplete. */
static bool
parts_close(struct http_metrics *m)
{
	bool good = true;

	for (unsigned i = 0; i < METRICS; i++) {
		good &= m->part[i] != NULL && ferror(m->part[i]) == 0;
		good &= m->part[i] != NULL && fclose(m->part[i]) == 0;
		m->part[i] = NULL;
	}
	return good;
}

/* NULL: out of memory. */
static char *
page(const struct http_metrics *m, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	bool bad;

	if (f == NULL)
		return NULL;
	for (unsigned i = 0; i < METRICS; i++)
		fwrite(m->text[i], 1, m->len[i], f);
	if (!is_text_format(m))
		fputs("# EOF\n", f);
	bad = ferror(f) != 0;
	bad |= fclose(f) != 0;
	if (!bad)
		return text;
	free(text);
	return NULL;
}

struct http_metrics *
http_metrics_create(enum http_metrics_format format)
{
	struct http_metrics *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->format = format;
	for (unsigned i = 0; i < METRICS; i++) {
		m->part[i] = open_memstream(&m->text[i], &m->len[i]);
		if (m->part[i] == NULL) {
			http_metrics_destroy(m);
			return NULL;
		}
	}
	return m;
}

void
http_metrics_destroy(struct http_metrics *m)
{
	if (m == NULL)
		return;
	for (unsigned i = 0; i < METRICS; i++) {
		if (m->part[i] != NULL)
			fclose(m->part[i]);
		free(m->text[i]);
	}
	free(m);
}

const char *
http_metrics_request(struct http_metrics *m)
{
	char params[64] = "";

	if (m->method == METHODS)
		return NULL;
	if (m->method == 0)
		snprintf(params, sizeof(params),
			m->cursor[0] == '\0' ? "\"limit\":%u" : "\"limit\":%u,\"cursor\":\"%s\"",
			PEERS, m->cursor);
	snprintf(m->request, sizeof(m->request),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s}}\n",
		methods[m->method], params);
	return m->request;
}

int
http_metrics_take(struct http_metrics *m, const char *text, size_t len)
{
	json_t *answer = json_loadb(text, len, 0, NULL);
	const json_t *result = json_object_get(answer, "result");
	const char *next = json_string_value(json_object_get(result, "next"));
	bool peers = m->method == 0, first = m->cursor[0] == '\0';

	/* Further methods may fail: without a data plane the page has no samples of ports. */
	if (answer == NULL || (peers && result == NULL)) {
		json_decref(answer);
		return -EPROTO;
	}
	if (result != NULL)
		samples_of(m, methods[m->method], result, first);
	snprintf(m->cursor, sizeof(m->cursor), "%s", peers && next != NULL ? next : "");
	m->method += m->cursor[0] == '\0';
	json_decref(answer);
	return 0;
}

char *
http_metrics_text(struct http_metrics *m, size_t *len)
{
	return parts_close(m) ? page(m, len) : NULL;
}

/* ---- Accept (RFC 9110 12.5.1) ---- */

#define REFUSED (-1)
#define NOT_NAMED 0

/* A weight in thousandths; REFUSED: 0, or malformed. */
static int
weight(const char *p)
{
	int q = *p == '0' || *p == '1' ? (*p++ - '0') * 1000 : 0;

	if (*p == '.') {
		for (int unit = 100; unit > 0 && *++p >= '0' && *p <= '9'; unit /= 10)
			q += (*p - '0') * unit;
	}
	return q == 0 ? REFUSED : q < 1000 ? q : 1000;
}

/* The weight of a media range with these parameters. */
static int
quality(const char *params, size_t len)
{
	for (const char *p = params; p + 3 < params + len; p++) {
		if (*p == ';') {
			p += 1 + strspn(p + 1, " \t");
			if ((*p == 'q' || *p == 'Q') && p[1] == '=')
				return weight(p + 2);
			p--;
		}
	}
	return 1000;
}

/* The weight of `type` after this media range; `before`: the weight before. */
static int
quality_of(const char *type, const char *range, size_t len, int before)
{
	int q;

	if (strcspn(range, ";, \t") != strlen(type) || strncasecmp(range, type, strlen(type)) != 0)
		return before;
	q = quality(range, len);
	return before == NOT_NAMED || q > before ? q : before;
}

enum http_metrics_format
http_metrics_format(const char *accept)
{
	int open = NOT_NAMED, text = NOT_NAMED;

	for (const char *p = accept; p != NULL && *p != '\0'; p += *p == ',') {
		size_t len;

		p += strspn(p, " \t");
		len = strcspn(p, ",");
		open = quality_of("application/openmetrics-text", p, len, open);
		text = quality_of("text/plain", p, len, text);
		p += len;
	}
	return text > open ? HTTP_METRICS_TEXT : HTTP_METRICS_OPEN;
}
