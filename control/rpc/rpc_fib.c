/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods fib.* and dataplane.*, keel-rpc(7). */
#include "control/rpc/rpc_impl.h"

#include "control/apply/audits.h"
#include "control/config/config.h"
#include "control/host/netlink.h"
#include "control/base/threads.h"
#include "lpm/fib.h"
#include "rib/feed/fib_feed.h"
#include "dataplane/process/forwarder.h"
#include "dataplane/process/host_path.h"
#include "dataplane/port/port.h"
#include "dataplane/forward/stats.h"
#include "dataplane/forward/worker.h"

#include <linux/neighbour.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
need_dataplane(struct rpc_env *env, struct rpc_call *call)
{
	if (env->layers->fib != NULL)
		return true;
	rpc_fail(call, RPC_NO_DATAPLANE, "", "no-dataplane");
	return false;
}

static const char *
state_text(enum next_hop_state s)
{
	return s == NEXT_HOP_UP ? "up" : s == NEXT_HOP_DOWN ? "down" : "unresolved";
}

static json_t *
mac_json(const uint8_t m[6])
{
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		m[5]);
	return json_string(text);
}

/* The labels that a packet gets, outermost first. */
static json_t *
labels_json(const struct next_hop_view *v, uint32_t label)
{
	json_t *labels = json_array();

	for (unsigned i = 0; v->state == NEXT_HOP_UP && i < v->adjacency.label_count; i++)
		json_array_append_new(labels, json_integer(v->adjacency.label[i]));
	if (label != LABEL_NONE)
		json_array_append_new(labels, json_integer(label));
	return labels;
}

/* An IPv4 address in wire order. */
static json_t *
v4_json(uint32_t address)
{
	struct ip_addr a = {.afi = AFI_IPV4};

	memcpy(a.b, &address, sizeof(address));
	return rpc_addr(&a);
}

static json_t *
path_json(const struct next_hop_view *v, uint32_t label, bool backup)
{
	json_t *o = json_pack("{s:o, s:o, s:s}", "next_hop", rpc_addr(&v->addr), "labels",
		labels_json(v, label), "state", state_text(v->state));

	json_object_set_new(o, "port", json_string(v->port != PORT_NONE ? port_name(v->port) : ""));
	json_object_set_new(
		o, "mac", v->state == NEXT_HOP_UP ? mac_json(v->adjacency.ether) : json_null());
	if (backup)
		json_object_set_new(o, "backup", json_true());
	if (v->state == NEXT_HOP_UP && v->adjacency.udp_destination != 0)
		json_object_set_new(o, "udp",
			json_pack("{s:o, s:o}", "source", v4_json(v->adjacency.udp_source),
				"destination", v4_json(v->adjacency.udp_destination)));
	return o;
}

static const char *
kind_text(uint8_t kind)
{
	static const char *const text[] = {
		"forward", "connected", "local", "blackhole", "forward", "instance"};

	return kind < sizeof(text) / sizeof(text[0]) ? text[kind] : "?";
}

static json_t *
fib_lookup_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	const struct path_lists *lists;
	const struct path_list *list;
	struct vrf_id vrf = VRF_DEFAULT;
	struct fib_result r;
	struct ip_addr addr;
	const char *text = NULL;
	json_t *o, *paths;

	if (!need_dataplane(env, call) || !rpc_vrf(env, params, &vrf, call) ||
		!rpc_string(params, "address", &text, call))
		return NULL;
	if (addr_parse(text, &addr) != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "/address",
			"\"%.64s\" is not an IP address", text);
	lists = fib_path_lists(env->layers->fib);
	paths = json_array();
	layers_fib_read_begin(env->layers);
	if (fib_lookup(env->layers->fib, vrf, &addr, &r) != 0)
		r = (struct fib_result){0};
	list = &path_lists_array(lists)[r.path_list.v];
	for (unsigned i = 0; r.hit && i < (unsigned)list->path_count + list->backup_count; i++) {
		struct next_hop_view v;

		const struct path *path = &path_list_paths(lists, r.path_list)[i];

		if (next_hop_peek(lists, path->next_hop, &v))
			json_array_append_new(
				paths, path_json(&v, path->label, i >= list->path_count));
	}
	o = json_pack("{s:I, s:o}", "generation", (json_int_t)r.generation, "paths", paths);
	if (r.hit) {
		json_object_set_new(o, "prefix", rpc_prefix(&r.prefix));
		json_object_set_new(o, "kind", json_string(kind_text(list->kind)));
		if (list->left_out > 0)
			json_object_set_new(o, "left_out", json_integer(list->left_out));
		if (list->kind == PATH_LIST_INSTANCE)
			json_object_set_new(o, "instance",
				json_string(
					apply_vrf_name(env->apply, (struct vrf_id){list->port})));
	} else {
		json_object_set_new(o, "prefix", json_null());
	}
	layers_fib_read_end(env->layers);
	return o;
}

/* ---- fib.stats ---- */

#define FIB_HISTS RPC_MARK_FIB

static const struct fib_hist {
	const char *key;
	const struct hist *(*of_fib)(const struct fib *f);
	const struct hist *(*of_feed)(const struct fib_feed *f);
} fib_hists[FIB_HISTS] = {
	{"commit_ns", fib_commit_hist, NULL},
	{"grace_ns", fib_grace_hist, NULL},
	{"update_to_fib_ns", NULL, fib_feed_update_hist},
	{"update_to_workers_ns", NULL, fib_feed_use_hist},
	{"link_ns", NULL, fib_feed_link_hist},
};

static const struct hist *
fib_hist(const struct rpc_env *env, unsigned i)
{
	return fib_hists[i].of_fib != NULL ? fib_hists[i].of_fib(env->layers->fib)
					   : fib_hists[i].of_feed(env->layers->feed);
}

void
rpc_fib_mark(struct rpc_env *env)
{
	for (unsigned i = 0; env->layers->fib != NULL && i < FIB_HISTS; i++)
		hist_copy(&env->marks->fib[i], fib_hist(env, i));
}

#define FIB_NUMBER(member) RPC_NUMBER(#member, 0, struct fib_stats, member)
#define FIB_NUMBER_AS(name, member) RPC_NUMBER(name, 0, struct fib_stats, member)
static const struct rpc_field fib_table_fields[] = {
	{"vrf", "string", "VRF."},
	{"family", "family", "Address family."},
	{FIB_NUMBER_AS("routes", installed) "Prefixes installed.",
		GAUGE("keel_fib_routes", "Prefixes in the forwarding tables.")},
	{FIB_NUMBER(groups_used) "Second-level groups in use."},
	{FIB_NUMBER(memory_bytes) "Memory of the forwarding table.",
		GAUGE("keel_fib_memory_bytes")},
	{FIB_NUMBER(writes) "Entries changed since the start.",
		COUNTER("keel_fib_writes", "Entries changed.")},
	{FIB_NUMBER(not_installed) "Prefixes for which the forwarding table has no room.",
		GAUGE("keel_fib_not_installed")},
	{0},
};
static const struct rpc_field fib_stats_result[] = {
	{FIB_NUMBER(generation) "Generation of the tables: the number of commits.",
		GAUGE("keel_fib_generation", "Generation of the forwarding tables.")},
	{"tables", "object[]", "The tables.", fib_table_fields},
	{FIB_NUMBER(commits) "Transactions.",
		COUNTER("keel_fib_commits", "Transactions of the forwarding tables.")},
	{FIB_NUMBER(commits_delayed) "Transactions delayed by a worker that did not run.",
		COUNTER("keel_fib_commits_delayed")},
	{FIB_NUMBER(grace_late) "Grace periods that lasted longer than `late_after_ns`.",
		COUNTER("keel_fib_grace_late")},
	{"late_after_ns", "integer", "When a grace period counts as late."},
	{FIB_NUMBER(rebuilds) "Times a table was built anew."},
	{"link_last_ns", "integer",
		"From the last loss of a link until packets took their other paths."},
	{"commit_ns", "object", "Duration of a transaction.", rpc_histogram_fields,
		SUMMARY("keel_fib_commit_seconds")},
	{"grace_ns", "object", "Time until no worker used the replaced entries.",
		rpc_histogram_fields, SUMMARY("keel_fib_grace_seconds")},
	{"update_to_fib_ns", "object",
		"From reading an UPDATE to its change in the forwarding tables.",
		rpc_histogram_fields, SUMMARY("keel_update_to_fib_seconds")},
	{"update_to_workers_ns", "object",
		"From reading an UPDATE until all workers use the change.", rpc_histogram_fields,
		SUMMARY("keel_update_to_workers_seconds")},
	{"link_ns", "object", "From the loss of a link until packets took their other paths.",
		rpc_histogram_fields, SUMMARY("keel_link_loss_seconds")},
	{0},
};

static void
table_add(const struct rpc_env *env, json_t *tables, struct vrf_id vrf, enum family f)
	RUNS_ON(role_main)
{
	struct fib_stats t;

	if (fib_table_stats_get(env->layers->fib, vrf, family_afi(f), &t) != 0)
		return;
	json_array_append_new(
		tables, rpc_encode(fib_table_fields, (const void *[]){&t},
				json_pack("{s:s, s:s}", "vrf", apply_vrf_name(env->apply, vrf),
					"family", family_text(f))));
}

static json_t *
fib_stats_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct vrf_id vrf = VRF_DEFAULT;
	bool one = json_object_get(params, "vrf") != NULL;
	struct fib_stats all;
	json_t *tables, *o;

	if (!need_dataplane(env, call) || !rpc_vrf(env, params, &vrf, call))
		return NULL;
	fib_stats_get(env->layers->fib, &all);
	tables = json_array();
	for (uint16_t v = 0; v < FIB_VRF_MAX; v++) {
		if (one && v != vrf.v)
			continue;
		table_add(env, tables, (struct vrf_id){v}, FAMILY_IPV4_UNICAST);
		table_add(env, tables, (struct vrf_id){v}, FAMILY_IPV6_UNICAST);
	}
	o = json_pack("{s:o, s:i, s:I}", "tables", tables, "late_after_ns", (int)FIB_LATE_NS,
		"link_last_ns", (json_int_t)fib_feed_link_last_ns(env->layers->feed));
	for (unsigned i = 0; i < FIB_HISTS; i++)
		json_object_set_new(
			o, fib_hists[i].key, rpc_hist_since(fib_hist(env, i), &env->marks->fib[i]));
	return rpc_encode(fib_stats_result, (const void *[]){&all}, o);
}

/* ---- fib.audit: the answer is deferred until the walk has ended, or (`wait` false) is the result of a job ---- */

struct rpc_audit {
	struct rpc_audit *next;
	struct rpc_env *env;
	struct rpc_call *call; /* NULL: a job */
	uint32_t job;
	json_int_t limit;
};

static json_t *
prefix_or_null(const struct prefix *p)
{
	return p->afi != AFI_NONE ? rpc_prefix(p) : json_null();
}

static json_t *
audit_result(const struct rpc_env *env, const struct fib_audit *a, json_int_t limit)
	RUNS_ON(role_main)
{
	json_t *mismatches = json_array();

	for (uint64_t i = 0;
		i < a->mismatch_count && i < (uint64_t)limit && i < FIB_AUDIT_MISMATCHES_MAX; i++) {
		const struct fib_mismatch *m = &a->mismatch[i];

		json_array_append_new(mismatches,
			json_pack("{s:s, s:o, s:o, s:o}", "vrf", apply_vrf_name(env->apply, m->vrf),
				"address", rpc_addr(&m->addr), "expected",
				prefix_or_null(&m->expected), "found", prefix_or_null(&m->found)));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "checked", (json_int_t)a->checked, "skipped",
		(json_int_t)a->skipped, "mismatch_count", (json_int_t)a->mismatch_count,
		"not_installed", (json_int_t)a->not_installed, "mismatches", mismatches);
}

static void
audit_request_free(struct rpc_audit *r)
{
	struct rpc_audit **at = &r->env->audit_jobs;

	while (*at != NULL && *at != r)
		at = &(*at)->next;
	if (*at == r)
		*at = r->next;
	free(r);
}

static void
audit_done(void *ctx, const struct fib_audit *a) RUNS_ON(role_main)
{
	struct rpc_audit *r = ctx;
	json_t *result = NULL;
	uint64_t done, total;

	if (a != NULL && a->error == 0) {
		result = audit_result(r->env, a, r->limit);
		/* the number of prefixes was an estimate when the audit began */
		fib_feed_audit_progress(r->env->layers->feed, &done, &total);
		jobs_progress(r->env->jobs, r->job, done, done);
	}
	if (r->call == NULL)
		jobs_end(r->env->jobs, r->job, result == NULL,
			result != NULL ? result : json_pack("{s:s}", "reason", "out-of-memory"));
	else
		rpc_reply(r->call, result != NULL ? result
						  : rpc_fail(r->call, RPC_INTERNAL_ERROR, "",
							    "out of memory"));
	audit_request_free(r);
}

void
rpc_audits_end(struct rpc_env *env)
{
	audits_stop(env->audits);
}

void
rpc_fib_progress(struct rpc_env *env)
{
	uint64_t done, total;

	for (const struct rpc_audit *r = env->audit_jobs; r != NULL; r = r->next) {
		if (audits_progress(env->audits, r, &done, &total))
			jobs_progress(env->jobs, r->job, done, total);
	}
}

static json_t *
fib_audit_method(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	bool one = json_object_get(params, "vrf") != NULL, wait = true;
	struct vrf_id vrf = VRF_DEFAULT;
	struct rpc_audit *r;
	json_int_t limit = 100;

	if (!need_dataplane(env, call) || !rpc_vrf(env, params, &vrf, call) ||
		!rpc_integer(params, "limit", 0, FIB_AUDIT_MISMATCHES_MAX, &limit, call) ||
		!rpc_boolean(params, "wait", &wait, call))
		return NULL;
	r = malloc(sizeof(*r));
	if (r == NULL)
		return NULL;
	*r = (struct rpc_audit){.env = env, .call = wait ? call : NULL, .limit = limit};
	if (!wait)
		r->job = jobs_begin(env->jobs, "audit", 0);
	if ((!wait && r->job == 0) ||
		audits_begin(env->audits, one ? &vrf : NULL, audit_done, r) != 0) {
		jobs_forget(env->jobs, r->job);
		free(r);
		return NULL;
	}
	if (wait)
		return rpc_defer(call);
	r->next = env->audit_jobs;
	env->audit_jobs = r;
	return json_pack("{s:i}", "job", (int)r->job);
}

/* ---- ports ---- */

/* PORTS_MAX: no port. */
static uint16_t
port_of(const struct config *c, struct vrf_id vrf, const struct ip_addr *addr, const char *text)
{
	const char *zone = strchr(text, '%');

	for (unsigned i = 0; i < c->port_count; i++) {
		const struct config_port *port = &c->ports[i];
		bool is = zone != NULL && strcmp(zone + 1, port->name) == 0;

		for (unsigned j = 0; zone == NULL && j < port->address_count; j++) {
			struct prefix subnet =
				prefix_from_addr(&port->addresses[j].addr, port->addresses[j].len);

			is |= prefix_contains(&subnet, addr);
		}
		if (is && port->vrf.v == vrf.v)
			return port_named(port->name);
	}
	return PORTS_MAX;
}

json_t *
rpc_port(uint16_t p)
{
	struct port_link l;

	port_link_get(p, &l);
	return json_pack("{s:s, s:s, s:s?, s:o, s:s?, s:s?, s:s?}", "name", port_name(p), "state",
		port_state_text(l.state), "reason", l.reason, "speed_mbps",
		l.speed_mbps != 0 ? json_integer(l.speed_mbps) : json_null(), "duplex", l.duplex,
		"autoneg", l.autoneg, "fec", l.fec);
}

json_t *
rpc_port_of(
	const struct rpc_env *env, struct vrf_id vrf, const struct ip_addr *addr, const char *text)
{
	const struct config *c = apply_running(env->apply);
	uint16_t p =
		env->layers->fib != NULL && c != NULL ? port_of(c, vrf, addr, text) : PORTS_MAX;

	return p != PORTS_MAX ? rpc_port(p) : NULL;
}

#define HOST_NUMBER(member) RPC_NUMBER(#member, 0, struct host_counters, member)
static const struct rpc_field host_class_fields[] = {
	{HOST_NUMBER(passed) "Packets handed to the kernel.",
		COUNTER("keel_host_passed",
			"Packets for this router handed to the kernel, by class.")},
	{HOST_NUMBER(
		 policed) "Packets above the limit of the class (`dataplane.policing`), dropped.",
		COUNTER("keel_host_policed",
			"Packets for this router above the limit of their class.")},
	{HOST_NUMBER(
		 lost) "Packets dropped because the host thread or the kernel did not take them.",
		COUNTER("keel_host_lost", "Packets for this router that the kernel did not take.")},
	{0},
};

/* Packets for this router by class; NULL: not counted. */
static json_t *
host_json(uint16_t p)
{
	struct host_counters c[HOST_CLASSES];
	json_t *out;

	if (!forwarder_host_counters(p, c))
		return NULL;
	out = json_object();
	for (unsigned i = 0; i < HOST_CLASSES; i++)
		json_object_set_new(out, host_class_text((enum host_class)i),
			rpc_encode(host_class_fields, (const void *[]){&c[i]}, NULL));
	return out;
}

/* The worker of each receive queue. */
static json_t *
queues_json(uint16_t p)
{
	json_t *out = json_array();

	for (unsigned q = 0; q < port_rx_queues(p); q++)
		json_array_append_new(
			out, json_pack("{s:i}", "worker", (int)port_queue_worker(p, q)));
	return out;
}

/* NULL: the port has a device. */
static json_t *
vlan_json(uint16_t p, const char **parent)
{
	uint16_t on;
	struct port_vlan vlan = port_vlan_get(p, &on);

	*parent = vlan.outer != 0 ? port_name(on) : NULL;
	if (vlan.outer == 0)
		return NULL;
	return vlan.inner == 0 ? json_pack("[i]", vlan.outer)
			       : json_pack("[i, i]", vlan.outer, vlan.inner);
}

/* Packets that the port lost, by reason. */
static json_t *
port_drops_json(uint16_t p, const struct port_counters *c)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "rx-missed", (json_int_t)c->rx_missed, "rx-error",
		(json_int_t)c->rx_errors, "rx-no-buffer", (json_int_t)c->rx_no_buffer);

	if (port_is_xdp(p)) {
		json_object_set_new(
			o, "xdp-rx-dropped", json_integer((json_int_t)c->xdp_rx_dropped));
		json_object_set_new(
			o, "xdp-ring-full", json_integer((json_int_t)c->xdp_rx_ring_full));
		json_object_set_new(o, "xdp-invalid", json_integer((json_int_t)c->xdp_invalid));
	}
	return o;
}

#define DRIVER_COUNTERS_AT_ONCE 32
#define DRIVER_COUNTERS_MAX 2048 /* a bound of the loop, larger than the number of any driver */

static json_t *
driver_json(uint16_t p)
{
	struct driver_counter c[DRIVER_COUNTERS_AT_ONCE];
	json_t *out = json_object();
	unsigned n;

	for (unsigned first = 0; first < DRIVER_COUNTERS_MAX; first += n) {
		n = forwarder_driver_counters(p, first, c, DRIVER_COUNTERS_AT_ONCE);
		if (n == 0)
			break;
		for (unsigned i = 0; i < n; i++)
			json_object_set_new(out, c[i].name, json_integer((json_int_t)c[i].value));
	}
	return out;
}

struct duplicates_read {
	const struct rpc_env *env;
	struct rpc_duplicates *out;
};

static void
duplicates_append(struct rpc_duplicates *d, const struct netlink *mirror) RUNS_ON(role_host)
{
	d->count += netlink_duplicates(mirror, d->at + d->count, RPC_DUPLICATES_MAX - d->count);
}

static void
duplicates_read(void *arg) RUNS_ON(role_host)
{
	struct duplicates_read *r = arg;
	const struct layers *l = r->env->layers;

	duplicates_append(r->out, l->netlink);
	for (unsigned i = 0; i < FIB_VRF_MAX; i++)
		if (l->vrf_netlink[i] != NULL)
			duplicates_append(r->out, l->vrf_netlink[i]);
}

void
rpc_duplicates(struct rpc_env *env, struct rpc_duplicates *out)
{
	struct duplicates_read r = {env, out};

	out->count = 0;
	layers_call_host(env->layers, duplicates_read, &r);
}

#define PORT_NUMBER(member) RPC_NUMBER(#member, 0, struct port_counters, member)
static const struct rpc_field host_fields[] = {
	{"*", "object", "A class: `bgp_peers`, `neighbors`, `bgp_others`, `icmp` or `others`.",
		host_class_fields},
	{0},
};
static const struct rpc_field port_drop_fields[] = {
	{"*", "integer",
		"Packets lost for this reason: `rx-missed` (receive queue full), `rx-error` "
		"(refused by "
		"the device), `rx-no-buffer` (times without a free packet buffer), and of AF_XDP "
		"`xdp-rx-dropped`, `xdp-ring-full` and `xdp-invalid`.",
		COUNTER("keel_port_drops", "Packets that a port lost, by reason.")},
	{0},
};
static const struct rpc_field driver_fields[] = {
	{"*", "integer", "A counter of the driver; the name is the driver's.",
		COUNTER("keel_port_driver", "Counters of the driver of a port (xstats of DPDK), by "
					    "the name that the driver uses.")},
	{0},
};
static const struct rpc_field queue_fields[] = {
	{"worker", "integer", "Index in `workers` of the worker that polls the queue."},
	{0},
};
static const struct rpc_field port_fields[] = {
	{"name", "string", "Name of the port."},
	{"state", "up|down|missing|failed",
		"`down`: no link. `missing`: the device, or an interface that the port needs, was "
		"removed. `failed`: the driver reported a fault, or the port did not start.",
		GAUGE("keel_port_up", "1 while the port has a link.")},
	{"reason", "string|null", "Why the port is not `up`; null while it is."},
	{"speed_mbps", "integer|null",
		"Speed of the link in Mbit/s. Null, as the members below, while it is not known.",
		GAUGE("keel_port_speed_mbps", "Speed of the link in Mbit/s, where it is known.")},
	{"duplex", "half|full|null", "Duplex mode."},
	{"autoneg", "on|off|null", "Autonegotiation of the speed."},
	{"fec", "off|auto|base-r|rs|llrs|null", "Forward error correction in use."},
	{"parent?", "string", "Of a port on a VLAN: the port with the device."},
	{"vlan?", "integer[]", "Of a port on a VLAN: its tag, or the outer and the inner tag."},
	{PORT_NUMBER(rx_packets) "Packets received.", COUNTER("keel_port_rx_packets")},
	{PORT_NUMBER(tx_packets) "Packets sent.", COUNTER("keel_port_tx_packets")},
	{PORT_NUMBER(rx_bytes) "Octets received.", COUNTER("keel_port_rx_bytes")},
	{PORT_NUMBER(tx_bytes) "Octets sent.", COUNTER("keel_port_tx_bytes")},
	{PORT_NUMBER(rx_missed) "Packets lost because the receive queue was full.",
		COUNTER("keel_port_rx_missed")},
	{PORT_NUMBER(tx_dropped) "Packets dropped because the transmit queue was full.",
		COUNTER("keel_port_tx_dropped")},
	{PORT_NUMBER(xdp_rx_dropped) "AF_XDP: packets that the kernel dropped."},
	{PORT_NUMBER(xdp_rx_ring_full) "AF_XDP: packets lost because the ring was full."},
	{PORT_NUMBER(xdp_fill_empty) "AF_XDP: times the kernel found no free buffer."},
	{PORT_NUMBER(xdp_invalid) "AF_XDP: packets whose descriptor the kernel refused."},
	{"drops", "object", "Packets that the port lost, by reason.", port_drop_fields},
	{"driver", "object", "Counters of the driver (xstats of DPDK).", driver_fields},
	{"queues", "object[]", "The receive queues of the port, by number.", queue_fields},
	{"tx_queues", "integer",
		"Transmit queues of the port. With fewer queues than workers, workers share them."},
	{"host?", "object",
		"Packets for this router by class. Absent where the kernel receives them without "
		"keeld.",
		host_fields},
	{"duplicate_addresses", "address[]",
		"IPv6 addresses of the port that another machine on the link has, too: the kernel "
		"does not use them."},
	{0},
};

static json_t *
port_json(uint16_t p, const struct rpc_duplicates *d)
{
	struct port_counters c = {0};
	json_t *o = rpc_port(p), *addresses = json_array(), *vlan;
	const char *parent;

	forwarder_counters(p, &c);
	vlan = vlan_json(p, &parent);
	for (unsigned i = 0; i < d->count; i++)
		if (d->at[i].port == p)
			json_array_append_new(addresses, rpc_addr(&d->at[i].addr));
	json_object_update_new(
		o, json_pack("{s:s*, s:o*, s:o, s:o, s:o, s:i, s:o*, s:o}", "parent", parent,
			   "vlan", vlan, "drops", port_drops_json(p, &c), "driver", driver_json(p),
			   "queues", queues_json(p), "tx_queues", (int)port_tx_queues(p), "host",
			   host_json(p), "duplicate_addresses", addresses));
	return rpc_encode(port_fields, (const void *[]){&c}, o);
}

static uint64_t
counter(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

#define WORKER_NUMBER(member) RPC_NUMBER(#member, 0, struct worker_stats, member)
#define WORKER_NUMBER_AS(name, member) RPC_NUMBER(name, 0, struct worker_stats, member)
static const struct rpc_field drop_fields[] = {
	{"*", "integer", "Packets dropped for this reason; see DROP REASONS.",
		COUNTER("keel_worker_drops", "Packets dropped, by reason.")},
	{0},
};
static const struct rpc_field worker_fields[] = {
	{"cpu", "integer", "CPU of the worker."},
	{WORKER_NUMBER_AS("received_ipv4", received_v4) "IPv4 packets received.",
		COUNTER("keel_worker_received_ipv4")},
	{WORKER_NUMBER_AS("received_ipv6", received_v6) "IPv6 packets received.",
		COUNTER("keel_worker_received_ipv6")},
	{WORKER_NUMBER(forwarded) "Packets forwarded.", COUNTER("keel_worker_forwarded")},
	{WORKER_NUMBER(originated) "Packets of this router sent: the kernel's, and ICMP errors."},
	{WORKER_NUMBER(injected) "Packets taken over from the kernel."},
	{WORKER_NUMBER(icmp_errors) "ICMP errors made.", COUNTER("keel_worker_icmp_errors")},
	{WORKER_NUMBER(fragments) "Fragments sent, made of larger IPv4 packets.",
		COUNTER("keel_worker_fragments")},
	{"drops", "object", "Dropped packets by reason.", drop_fields},
	{WORKER_NUMBER(punted) "Packets handed to the kernel.", COUNTER("keel_worker_punted")},
	{WORKER_NUMBER(waiting) "Packets that wait for the link-layer address of a neighbour.",
		GAUGE("keel_worker_waiting")},
	{"loop_gap_ns", "object", "Time between two polls of a worker.", rpc_histogram_fields,
		SUMMARY("keel_worker_loop_gap_seconds")},
	{"cycles_per_packet", "number", "Processor cycles for each packet, while packets come."},
	{0},
};

static json_t *
worker_json(unsigned w)
{
	const struct worker_stats *s = worker_stats(w);
	json_t *drops = json_object();
	struct hist_summary gap;
	uint64_t packets = counter(&s->busy_packets);

	for (unsigned r = 0; r < DROP_COUNT; r++)
		json_object_set_new(drops, drop_reason_text((enum drop_reason)r),
			json_integer((json_int_t)counter(&s->drops[r])));
	stats_loop_gap(w, &gap);
	return rpc_encode(worker_fields, (const void *[]){s},
		json_pack("{s:i, s:o, s:o, s:f}", "cpu", (int)worker_cpu(w), "drops", drops,
			"loop_gap_ns", rpc_hist(&gap), "cycles_per_packet",
			packets > 0 ? (double)counter(&s->busy_cycles) / (double)packets : 0.0));
}

#define ROOM_NUMBER(member) RPC_NUMBER(#member, 0, struct netlink_room, member)
static const struct rpc_field neighbor_room_fields[] = {
	{ROOM_NUMBER(held) "Requests held back: 64 addresses of the port were not answered, or a "
			   "quarter of "
			   "the kernel's table; and looks at next hops that wait, because 128 of "
			   "the port "
			   "did not answer.",
		COUNTER("keel_neighbor_requests_held",
			"Requests for neighbours held back because others are not answered.")},
	{ROOM_NUMBER(ended) "Requests without an answer for 200 ms, of next hops for a second, "
			    "that made room "
			    "for "
			    "others."},
	{ROOM_NUMBER(released) "Neighbours that are not kept resolved any more: more than half of "
			       "the kernel's "
			       "table have answered."},
	{ROOM_NUMBER(refused) "Requests for neighbours refused by the kernel because its table is "
			      "full.",
		COUNTER("keel_neighbor_requests_refused")},
	{0},
};

static json_t *
dataplane_stats(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct rpc_duplicates duplicates;
	json_t *ports, *workers;

	(void)params;
	if (!need_dataplane(env, call))
		return NULL;
	rpc_duplicates(env, &duplicates);
	ports = json_array();
	workers = json_array();
	for (uint16_t p = 0; p < port_count(); p++)
		if (port_exists(p))
			json_array_append_new(ports, port_json(p, &duplicates));
	for (unsigned w = 0; w < workers_count(); w++)
		json_array_append_new(workers, worker_json(w));
	return json_pack("{s:o, s:o, s:o}", "ports", ports, "workers", workers, "neighbors",
		rpc_encode(
			neighbor_room_fields, (const void *[]){env->layers->neighbor_room}, NULL));
}

static json_t *
dataplane_stats_reset(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	(void)params;
	if (!need_dataplane(env, call))
		return NULL;
	stats_reset_mark();
	rpc_control_mark(env);
	rpc_fib_mark(env);
	return json_object();
}

/* ---- dataplane.neighbors: the host thread's mirror ---- */

struct neighbors {
	struct rpc_env *env;
	struct netlink_neighbor *neighbor;
	unsigned size, count;
};

/* Appends the neighbours of a mirror, as far as there is room; counts all. */
static void
neighbors_append(struct neighbors *n, struct netlink *mirror) RUNS_ON(role_host)
{
	unsigned room = n->count < n->size ? n->size - n->count : 0;

	n->count += netlink_neighbors(mirror, n->neighbor + n->size - room, room);
}

static void
neighbors_read(void *arg) RUNS_ON(role_host)
{
	struct neighbors *n = arg;
	const struct layers *l = n->env->layers;

	n->count = 0;
	neighbors_append(n, l->netlink);
	for (unsigned i = 0; i < FIB_VRF_MAX; i++)
		if (l->vrf_netlink[i] != NULL)
			neighbors_append(n, l->vrf_netlink[i]);
}

/* The name of a neighbour state, as in the output of `ip neighbour`. */
static const char *
nud_text(uint16_t state)
{
	static const struct {
		uint16_t state;
		const char *text;
	} states[] = {{NUD_PERMANENT, "permanent"}, {NUD_NOARP, "noarp"},
		{NUD_REACHABLE, "reachable"}, {NUD_STALE, "stale"}, {NUD_DELAY, "delay"},
		{NUD_PROBE, "probe"}, {NUD_INCOMPLETE, "incomplete"}, {NUD_FAILED, "failed"}};

	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (state & states[i].state)
			return states[i].text;
	}
	return "none";
}

static json_t *
neighbor_json(const struct rpc_env *env, const struct netlink_neighbor *n) RUNS_ON(role_main)
{
	static const uint8_t none[6];
	bool has_mac = memcmp(n->mac, none, sizeof(none)) != 0;
	json_t *o = json_pack("{s:s, s:o, s:o, s:s}", "vrf", apply_vrf_name(env->apply, n->vrf),
		"address", rpc_addr(&n->addr), "mac", has_mac ? mac_json(n->mac) : json_null(),
		"state", nud_text(n->nud_state));

	json_object_set_new(o, "port", json_string(n->port != PORT_NONE ? port_name(n->port) : ""));
	return o;
}

/* The mirror may grow between the two calls. */
static bool
neighbors_get(struct neighbors *n) RUNS_ON(role_main)
{
	do {
		free(n->neighbor);
		n->size = n->count + 64;
		n->neighbor = calloc(n->size, sizeof(*n->neighbor));
		if (n->neighbor == NULL)
			return false;
		layers_call_host(n->env->layers, neighbors_read, n);
	} while (n->count > n->size);
	return true;
}

static json_t *
dataplane_neighbors(struct rpc_env *env, json_t *params, struct rpc_call *call) RUNS_ON(role_main)
{
	struct neighbors n = {.env = env};
	json_t *array;

	(void)params;
	if (!need_dataplane(env, call) || !neighbors_get(&n))
		return NULL;
	array = json_array();
	for (unsigned i = 0; i < n.count; i++)
		json_array_append_new(array, neighbor_json(env, &n.neighbor[i]));
	free(n.neighbor);
	return array;
}

/* ---- the methods ---- */

static const struct rpc_field fib_lookup_params[] = {
	{"vrf?", "string", "VRF; `default` when absent."},
	{"address", "address", "The address."},
	{0},
};
static const struct rpc_field udp_fields[] = {
	{"source", "address", "Own address."},
	{"destination", "address", "The remote edge router."},
	{0},
};
static const struct rpc_field path_fields[] = {
	{"next_hop", "address", "The next hop."},
	{"labels", "integer[]", "MPLS labels."},
	{"state", "up|down|unresolved", "Whether packets can be sent to it."},
	{"port?", "string", "The port."},
	{"mac", "string|null", "The neighbour's Ethernet address; null unless the state is `up`."},
	{"backup?", "boolean", "True: used when no other path is up."},
	{"udp?", "object", "The labels travel in UDP (RFC 7510).", udp_fields},
	{0},
};
static const struct rpc_field fib_lookup_result[] = {
	{"generation", "integer", "Generation of the tables."},
	{"paths", "object[]", "The paths; packets are shared out among those without `backup`.",
		path_fields},
	{"prefix", "string|null", "The longest matching prefix; null without one."},
	{"left_out?", "integer",
		"Equal next hops of the route beyond the first 64, which forward nothing; omitted "
		"when 0."},
	{"kind?", "forward|connected|local|blackhole|instance", "What happens to a packet."},
	{"instance?", "string",
		"With the kind `instance`: the instance in which the address is looked up again."},
	{0},
};

static const struct rpc_field fib_stats_params[] = {
	{"vrf?", "string", "Only the tables of this VRF. All tables when absent."},
	{0},
};
static const struct rpc_field audit_params[] = {
	{"vrf?", "string", "Only the tables of this VRF. The tables of all VRFs when absent."},
	{"limit?", "integer=0..1000", "Mismatches in the answer; 100 when absent."},
	{"wait?", "boolean", "False: answer at once with a job. True when absent."},
	{0},
};
static const struct rpc_field mismatch_fields[] = {
	{"vrf", "string", "VRF."},
	{"address", "address", "The address that was looked up."},
	{"expected", "string|null", "Prefix by the RIB."},
	{"found", "string|null", "Prefix by the workers' tables."},
	{0},
};

static const struct rpc_field audit_result_fields[] = {
	{"checked?", "integer", "Prefixes compared."},
	{"skipped?", "integer", "Prefixes that changed during the audit."},
	{"mismatch_count?", "integer", "Differences."},
	{"not_installed?", "integer", "Prefixes for which the tables have no room."},
	{"mismatches?", "object[]", "The first differences.", mismatch_fields},
	{"job?", "integer", "With `wait` false: the job, whose `result` has the other members."},
	{0},
};

static const struct rpc_field neighbor_fields[] = {
	{"vrf", "string", "VRF."},
	{"address", "address", "Address of the neighbour."},
	{"mac", "string|null", "Its Ethernet address; null while unknown."},
	{"state", "permanent|noarp|reachable|stale|delay|probe|incomplete|failed|none",
		"State in the kernel, as `ip neighbour` names it."},
	{"port?", "string", "The port."},
	{0},
};
static const struct rpc_field neighbors_result[] = {
	{"", "object[]", "The neighbours.", neighbor_fields},
	{0},
};

static const struct rpc_field dataplane_result[] = {
	{"ports", "object[]", "The ports.", port_fields},
	{"workers", "object[]", "The workers.", worker_fields},
	{"neighbors", "object", "Requests for neighbours, of packets and of next hops.",
		neighbor_room_fields},
	{0},
};

const struct rpc_method rpc_fib_methods[] = {
	{"fib.lookup", fib_lookup_method, fib_lookup_params, fib_lookup_result,
		"Looks up an address in the tables that the workers read", NULL, RPC_READS,
		RPC_ERROR(RPC_NO_DATAPLANE) | RPC_ERROR(RPC_NOT_FOUND)},
	{"fib.stats", fib_stats_method, fib_stats_params, fib_stats_result,
		"The forwarding tables: sizes, writes, and how long changes took", NULL, RPC_READS,
		RPC_ERROR(RPC_NO_DATAPLANE) | RPC_ERROR(RPC_NOT_FOUND)},
	{"fib.audit", fib_audit_method, audit_params, audit_result_fields,
		"Compares the RIB with what the workers' tables answer",
		"Prefixes that change during the audit are skipped. Forwarding goes on.", RPC_READS,
		RPC_ERROR(RPC_NO_DATAPLANE) | RPC_ERROR(RPC_NOT_FOUND)},
	{"dataplane.neighbors", dataplane_neighbors, NULL, neighbors_result,
		"The kernel's neighbours, as the workers use them", NULL, RPC_READS,
		RPC_ERROR(RPC_NO_DATAPLANE)},
	{"dataplane.stats", dataplane_stats, NULL, dataplane_result,
		"Counters of ports and workers; drops by reason", NULL, RPC_READS,
		RPC_ERROR(RPC_NO_DATAPLANE)},
	{"dataplane.stats.reset", dataplane_stats_reset, NULL, NULL,
		"Starts all histograms anew, also those of fib.stats and control.stats", NULL,
		RPC_CHANGES, RPC_ERROR(RPC_NO_DATAPLANE)},
	{0},
};
