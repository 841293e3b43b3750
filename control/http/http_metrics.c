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
#define METRIC(...) {__VA_ARGS__},
#include "control/http/http_metrics.def"
	{"keel_build", INFO, OF_VERSION, NULL, "Version of the daemon."},
	{"keel_peer_routes_unusable", GAUGE, OF_REFUSED, NULL,
		"Routes stored that cannot be used now: their next hop is not valid, or the "
		"forwarding tables have no room, by cause."},
	{"keel_rpc_calls", COUNTER, OF_RPC, NULL, "Calls of JSON-RPC methods, by result."},
	{"keel_rib_memory_bytes", GAUGE, OF_RIB, "tables/0/memory_bytes",
		"Memory of all tables and attribute sets."},
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
