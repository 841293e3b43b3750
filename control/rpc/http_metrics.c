/* SPDX-License-Identifier: BSD-3-Clause */
/* GET /metrics: OpenMetrics 1.0, made of what the RPC methods answer. */
#include "control/rpc/http.h"

#include "control/rpc/rpc_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { GAUGE, COUNTER, SUMMARY };

/* One metric: its samples stand together (OpenMetrics 1.0, "MetricFamily"). */
static void
head(FILE *f, const char *name, enum kind kind, const char *help)
{
	static const char *const types[] = {
		[GAUGE] = "gauge", [COUNTER] = "counter", [SUMMARY] = "summary"};

	fprintf(f, "# TYPE %s %s\n# HELP %s %s\n", name, types[kind], name, help);
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

static void
number(FILE *f, const json_t *v)
{
	if (json_is_boolean(v))
		fprintf(f, "} %d\n", json_is_true(v));
	else if (json_is_real(v))
		fprintf(f, "} %.6f\n", json_real_value(v));
	else
		fprintf(f, "} %lld\n", (long long)json_integer_value(v));
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

/* ---- histograms: summaries in seconds, of `label` (or of all: NULL) ---- */

static void
summary(FILE *f, const char *name, const char *key, const char *value, const json_t *hist)
{
	static const struct {
		const char *quantile, *key;
	} points[] = {{"0", "min"}, {"0.5", "p50"}, {"0.9", "p90"}, {"0.99", "p99"},
		{"0.999", "p999"}, {"1", "max"}};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		fprintf(f, "%s{", name);
		if (key != NULL)
			label(f, "", key, value);
		label(f, key != NULL ? "," : "", "quantile", points[i].quantile);
		fprintf(f, "} %.9f\n",
			(double)json_integer_value(json_object_get(hist, points[i].key)) / 1e9);
	}
	fprintf(f, "%s_count{", name);
	if (key != NULL)
		label(f, "", key, value);
	number(f, json_object_get(hist, "count"));
}

static void
single_summary(FILE *f, const char *name, const char *help, const json_t *answer, const char *key)
{
	head(f, name, SUMMARY, help);
	summary(f, name, NULL, NULL, json_object_get(answer, key));
}

/* ---- the daemon ---- */

static void
single(FILE *f, const char *name, enum kind kind, const char *help, const json_t *v)
{
	head(f, name, kind, help);
	fprintf(f, "%s%s{", name, kind == COUNTER ? "_total" : "");
	number(f, v);
}

static void
system_metrics(FILE *f, const json_t *info)
{
	json_t *alarms = json_integer((json_int_t)json_array_size(json_object_get(info, "alarms")));

	fprintf(f, "# TYPE keel_build info\n# HELP keel_build Version of the "
		   "daemon.\nkeel_build_info{");
	label(f, "", "version", text_of(info, "version"));
	fputs("} 1\n", f);
	single(f, "keel_uptime_seconds", GAUGE, "Age of the daemon.",
		json_object_get(info, "uptime_s"));
	single(f, "keel_configuration_revision", GAUGE, "Revision of the running configuration.",
		json_object_get(info, "revision"));
	single(f, "keel_alarms", GAUGE, "Alarms now.", alarms);
	single(f, "keel_policy_match_errors", COUNTER,
		"Routes rejected because a regular expression hit its match limit.",
		json_object_get(info, "policy_limit_hits"));
	json_decref(alarms);
}

/* ---- peers ---- */

static void
peer_labels(FILE *f, const char *name, const json_t *peer)
{
	fprintf(f, "%s{", name);
	label(f, "", "peer", text_of(peer, "address"));
	label(f, ",", "vrf", text_of(peer, "vrf"));
}

/* A number of each family; `key` may be of its `refresh`. */
static void
families_samples(FILE *f, const json_t *peer, const char *sample, const char *key)
{
	const char *family;
	json_t *v;

	json_object_foreach(json_object_get(peer, "families"), family, v)
	{
		const json_t *n = json_object_get(v, key);

		if (n == NULL)
			n = json_object_get(json_object_get(v, "refresh"), key);
		if (n == NULL)
			continue;
		peer_labels(f, sample, peer);
		label(f, ",", "family", family);
		number(f, n);
	}
}

struct metric {
	const char *name, *help, *key;
	enum kind kind;
};

static const struct metric of_peers[] = {
	{"keel_peer_uptime_seconds", "Age of the session.", "uptime_s", GAUGE},
	{"keel_peer_sessions", "Times the session came up.", "established_count", COUNTER},
	{"keel_peer_messages_received", "Messages of all kinds.", "messages_received", COUNTER},
	{"keel_peer_messages_sent", "Messages of all kinds.", "messages_sent", COUNTER},
	{"keel_peer_updates_received", "UPDATE messages.", "updates_received", COUNTER},
	{"keel_peer_updates_sent", "UPDATE messages.", "updates_sent", COUNTER},
};

static const struct metric of_families[] = {
	{"keel_peer_routes_received", "Routes stored.", "received", GAUGE},
	{"keel_peer_routes_accepted", "Routes that import policy lets in.", "accepted", GAUGE},
	{"keel_peer_routes_advertised", "Routes told to the peer.", "advertised", GAUGE},
	{"keel_peer_routes_rejected", "Prefixes refused since the session came up.",
		"rejected_total", COUNTER},
	{"keel_peer_refresh_requests_sent", "Our ROUTE-REFRESH requests.", "requests_sent",
		COUNTER},
	{"keel_peer_refresh_requests_received", "The peer's.", "requests_received", COUNTER},
	{"keel_peer_refresh_served", "Walks sent to the peer for them.", "served", COUNTER},
	{"keel_peer_stale_swept", "Routes that a refresh did not tell again.", "stale_swept",
		COUNTER},
};

#define OF_PEERS (sizeof(of_peers) / sizeof(of_peers[0]))
#define OF_FAMILIES (sizeof(of_families) / sizeof(of_families[0]))
#define PARTS (1 + OF_PEERS + OF_FAMILIES)

/* A scrape. Samples of one metric stand together, and peers come one after the other: each metric of peers has a text of its own. */
struct http_metrics {
	struct keeld *k;
	http_metrics_done *done;
	void *ctx;
	FILE *part[PARTS];
	char *text[PARTS];
	size_t len[PARTS];
};

static const struct metric *
metric_of(unsigned part)
{
	static const struct metric up = {
		"keel_peer_established", "1 while the session is established.", NULL, GAUGE};

	return part == 0	  ? &up
	       : part <= OF_PEERS ? &of_peers[part - 1]
				  : &of_families[part - 1 - OF_PEERS];
}

static bool
peer_metrics(void *ctx, const json_t *peer)
{
	struct http_metrics *m = ctx;

	for (unsigned i = 0; i < PARTS; i++) {
		const struct metric *metric = metric_of(i);
		char sample[80];

		snprintf(sample, sizeof(sample), "%s%s", metric->name,
			metric->kind == COUNTER ? "_total" : "");
		if (i > OF_PEERS) {
			families_samples(m->part[i], peer, sample, metric->key);
			continue;
		}
		peer_labels(m->part[i], sample, peer);
		if (metric->key != NULL)
			number(m->part[i], json_object_get(peer, metric->key));
		else
			fprintf(m->part[i], "} %d\n",
				strcmp(text_of(peer, "state"), "established") == 0);
	}
	return true;
}

/* ---- threads ---- */

static void
threads_summary(FILE *f, const json_t *threads, const char *name, const char *help, const char *key)
{
	json_t *t;
	size_t i;

	head(f, name, SUMMARY, help);
	json_array_foreach(threads, i, t)
		summary(f, name, "thread", text_of(t, "name"), json_object_get(t, key));
}

static void
control_metrics(FILE *f, const json_t *answer)
{
	const json_t *threads = json_object_get(answer, "threads");
	json_t *t;
	size_t i;

	head(f, "keel_thread_cpu_seconds", COUNTER, "Processor time of a control thread.");
	json_array_foreach(threads, i, t)
	{
		fputs("keel_thread_cpu_seconds_total{", f);
		label(f, "", "thread", text_of(t, "name"));
		number(f, json_object_get(t, "cpu_s"));
	}
	head(f, "keel_thread_late_turns", COUNTER, "Turns that lasted 1 s and more.");
	json_array_foreach(threads, i, t)
	{
		fputs("keel_thread_late_turns_total{", f);
		label(f, "", "thread", text_of(t, "name"));
		number(f, json_object_get(t, "late_turns"));
	}
	threads_summary(f, threads, "keel_thread_slice_seconds",
		"Slices of work that took 10 us and more; each has 1 ms.", "slice_ns");
	threads_summary(f, threads, "keel_thread_turn_seconds",
		"Turns of a thread's loop, without sleep, that took 10 us and more.", "turn_ns");
	single_summary(f, "keel_keepalive_late_seconds", "How late keepalives left.", answer,
		"keepalive_late_ns");
	single(f, "keel_log_lines", COUNTER, "Log lines written.",
		json_object_get(json_object_get(answer, "log"), "written"));
	single(f, "keel_log_lines_lost", COUNTER,
		"Log lines lost because stderr was not read, or its disk was full.",
		json_object_get(json_object_get(answer, "log"), "lost"));
}

/* ---- tables ---- */

static void
tables_metric(FILE *f, const json_t *tables, const char *name, enum kind kind, const char *help,
	const char *key)
{
	json_t *table;
	size_t i;

	head(f, name, kind, help);
	json_array_foreach(tables, i, table)
	{
		fprintf(f, "%s%s{", name, kind == COUNTER ? "_total" : "");
		label(f, "", "vrf", text_of(table, "vrf"));
		label(f, ",", "family", text_of(table, "family"));
		number(f, json_object_get(table, key));
	}
}

static void
rib_metrics(FILE *f, const json_t *answer)
{
	const json_t *tables = json_object_get(answer, "tables");

	tables_metric(f, tables, "keel_rib_prefixes", GAUGE, "Destinations.", "prefixes");
	tables_metric(f, tables, "keel_rib_paths", GAUGE, "Paths to them.", "paths");
	if (json_array_size(tables) > 0)
		single(f, "keel_rib_memory_bytes", GAUGE, "All tables and attribute sets.",
			json_object_get(json_array_get(tables, 0), "memory_bytes"));
}

static void
fib_metrics(FILE *f, const json_t *answer)
{
	const json_t *tables = json_object_get(answer, "tables");

	single(f, "keel_fib_generation", GAUGE, "Generation of the forwarding tables.",
		json_object_get(answer, "generation"));
	single(f, "keel_fib_commits", COUNTER, "Transactions.", json_object_get(answer, "commits"));
	single(f, "keel_fib_commits_delayed", COUNTER,
		"Of these, held up by a worker that did not run.",
		json_object_get(answer, "commits_delayed"));
	single(f, "keel_fib_grace_late", COUNTER, "Grace periods that were not over after 1 ms.",
		json_object_get(answer, "grace_late"));
	single_summary(
		f, "keel_fib_commit_seconds", "Painting and showing a batch.", answer, "commit_ns");
	single_summary(f, "keel_fib_grace_seconds", "Until no worker used what was before.", answer,
		"grace_ns");
	single_summary(f, "keel_update_to_fib_seconds", "UPDATE read to visible to workers.",
		answer, "update_to_fib_ns");
	single_summary(f, "keel_update_to_workers_seconds", "UPDATE read to used by all workers.",
		answer, "update_to_workers_ns");
	single_summary(f, "keel_link_loss_seconds", "Link loss read to the packets' other paths.",
		answer, "link_ns");
	tables_metric(f, tables, "keel_fib_routes", GAUGE,
		"Prefixes in the tables that workers read.", "routes");
	tables_metric(f, tables, "keel_fib_not_installed", GAUGE, "Prefixes that did not fit.",
		"not_installed");
	tables_metric(f, tables, "keel_fib_memory_bytes", GAUGE, "Of the tables.", "memory_bytes");
	tables_metric(f, tables, "keel_fib_writes", COUNTER, "Prefixes written.", "writes");
}

/* ---- the data plane ---- */

static void
ports_metric(FILE *f, const json_t *ports, const char *key)
{
	char name[80];
	json_t *port;
	size_t i;

	snprintf(name, sizeof(name), "keel_port_%s", key);
	head(f, name, COUNTER, "Of a port, all its queues.");
	json_array_foreach(ports, i, port)
	{
		fprintf(f, "%s_total{", name);
		label(f, "", "port", text_of(port, "name"));
		number(f, json_object_get(port, key));
	}
}

static void
worker_label(FILE *f, const char *name, const json_t *worker)
{
	fprintf(f, "%s{cpu=\"%lld\"", name,
		(long long)json_integer_value(json_object_get(worker, "cpu")));
}

static void
workers_metric(FILE *f, const json_t *workers, const char *key)
{
	char name[80], sample[96];
	json_t *worker;
	size_t i;

	snprintf(name, sizeof(name), "keel_worker_%s", key);
	snprintf(sample, sizeof(sample), "%s_total", name);
	head(f, name, COUNTER, "Packets of a worker.");
	json_array_foreach(workers, i, worker)
	{
		worker_label(f, sample, worker);
		number(f, json_object_get(worker, key));
	}
}

static void
drops_metric(FILE *f, const json_t *workers)
{
	const char *reason;
	json_t *worker, *n;
	size_t i;

	head(f, "keel_worker_drops", COUNTER, "Packets that went nowhere, by reason.");
	json_array_foreach(workers, i, worker)
	{
		json_object_foreach(json_object_get(worker, "drops"), reason, n)
		{
			worker_label(f, "keel_worker_drops_total", worker);
			label(f, ",", "reason", reason);
			number(f, n);
		}
	}
}

static void
loop_gap_metric(FILE *f, const json_t *workers)
{
	static const char name[] = "keel_worker_loop_gap_seconds";
	json_t *worker;
	size_t i;

	head(f, name, SUMMARY, "Time between two polls of a worker.");
	json_array_foreach(workers, i, worker)
	{
		char cpu[24];

		snprintf(cpu, sizeof(cpu), "%lld",
			(long long)json_integer_value(json_object_get(worker, "cpu")));
		summary(f, name, "cpu", cpu, json_object_get(worker, "loop_gap_ns"));
	}
}

static void
dataplane_metrics(FILE *f, const json_t *answer)
{
	static const char *const of_ports[] = {
		"rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_missed", "tx_dropped"};
	static const char *const of_workers[] = {
		"received_ipv4", "received_ipv6", "forwarded", "punted", "icmp_errors"};
	const json_t *ports = json_object_get(answer, "ports"),
		     *workers = json_object_get(answer, "workers");

	for (unsigned i = 0; i < sizeof(of_ports) / sizeof(of_ports[0]); i++)
		ports_metric(f, ports, of_ports[i]);
	for (unsigned i = 0; i < sizeof(of_workers) / sizeof(of_workers[0]); i++)
		workers_metric(f, workers, of_workers[i]);
	drops_metric(f, workers);
	loop_gap_metric(f, workers);
}

static void
part(FILE *f, struct keeld *k, const char *method, void (*write)(FILE *f, const json_t *answer))
{
	json_t *answer = rpc_result(k, method);

	if (answer != NULL)
		write(f, answer);
	json_decref(answer);
}

static char *
page(struct http_metrics *m, size_t *len)
{
	struct keeld *k = m->k;
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	bool bad;

	if (f == NULL)
		return NULL;
	part(f, k, "system.info", system_metrics);
	for (unsigned i = 0; i < PARTS; i++)
		fwrite(m->text[i], 1, m->len[i], f);
	part(f, k, "control.stats", control_metrics);
	part(f, k, "rib.summary", rib_metrics);
	part(f, k, "fib.stats", fib_metrics);
	part(f, k, "dataplane.stats", dataplane_metrics);
	fputs("# EOF\n", f);
	bad = ferror(f) != 0;
	bad |= fclose(f) != 0;
	if (!bad)
		return text;
	free(text);
	return NULL;
}

/* False: some part is not whole. */
static bool
parts_close(struct http_metrics *m)
{
	bool good = true;

	for (unsigned i = 0; i < PARTS; i++) {
		good &= m->part[i] != NULL && ferror(m->part[i]) == 0;
		good &= m->part[i] != NULL && fclose(m->part[i]) == 0;
		m->part[i] = NULL;
	}
	return good;
}

static void
metrics_free(struct http_metrics *m)
{
	for (unsigned i = 0; i < PARTS; i++)
		free(m->text[i]);
	free(m);
}

static void
peers_end(void *ctx, bool whole)
{
	struct http_metrics *m = ctx;
	size_t len = 0;
	char *text;

	whole &= parts_close(m);
	text = whole ? page(m, &len) : NULL;
	m->done(m->ctx, text, len);
	metrics_free(m);
}

int
http_metrics(struct keeld *k, http_metrics_done *done, void *ctx)
{
	struct http_metrics *m = calloc(1, sizeof(*m));
	bool good = true;

	if (m == NULL)
		return -ENOMEM;
	*m = (struct http_metrics){.k = k, .done = done, .ctx = ctx};
	for (unsigned i = 0; i < PARTS && good; i++) {
		const struct metric *metric = metric_of(i);

		m->part[i] = open_memstream(&m->text[i], &m->len[i]);
		good = m->part[i] != NULL;
		if (good)
			head(m->part[i], metric->name, metric->kind, metric->help);
	}
	if (good && rpc_peers_each(k, peer_metrics, peers_end, m) == 0)
		return 0;
	parts_close(m);
	metrics_free(m);
	return -ENOMEM;
}
