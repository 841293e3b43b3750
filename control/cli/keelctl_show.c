/* SPDX-License-Identifier: BSD-3-Clause */
/* show, except routes: prints results as tables. */
#include "control/cli/keelctl.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) ((unsigned)(sizeof(a) / sizeof((a)[0])))

/* ---- show bgp ---- */

static bool
established(const json_t *peer)
{
	return strcmp(text_of(peer, "state"), "established") == 0;
}

static void
summary_rows(struct table *t, const json_t *peer)
{
	json_t *families = json_object_get(peer, "families"), *f;
	const char *name;
	char up[SHORT_TEXT];
	bool first = true;

	json_object_foreach(families, name, f)
	{
		table_cell(t, PLAIN, "%s", first ? text_of(peer, "address") : "");
		table_cell(t, PLAIN, "%s", first ? text_of(peer, "asn") : "");
		table_cell(t, state_colour(text_of(peer, "state")), "%s",
			first ? text_of(peer, "state") : "");
		table_cell(t, PLAIN, "%s",
			!first		    ? ""
			: established(peer) ? duration_text(real_of(peer, "uptime_s"), up)
					    : "-");
		table_texts(t, f, "received accepted advertised");
		table_cell(t, PLAIN, "%s", text_safe(name));
		first = false;
	}
}

/* ---- ports ---- */

#define LINK_TEXT 64

/* "10G full, autoneg off, FEC rs", as far as it is known. */
static const char *
port_link_text(const json_t *port, char text[LINK_TEXT])
{
	long long mbps = number_of(port, "speed_mbps");
	const char *fec = json_string_value(json_object_get(port, "fec"));

	if (mbps == 0)
		return "-";
	snprintf(text, LINK_TEXT, mbps % 1000 == 0 ? "%lldG" : "%lldM",
		mbps % 1000 == 0 ? mbps / 1000 : mbps);
	if (json_is_string(json_object_get(port, "duplex")))
		snprintf(text + strlen(text), LINK_TEXT - strlen(text), " %s, autoneg %s",
			text_of(port, "duplex"), text_of(port, "autoneg"));
	if (fec != NULL)
		snprintf(text + strlen(text), LINK_TEXT - strlen(text), ", FEC %s", fec);
	return text;
}

/* "east up 10G full" or "east down: no carrier" */
const char *
port_text(const json_t *port, char text[PORT_TEXT])
{
	char link[LINK_TEXT];

	if (json_is_string(json_object_get(port, "reason")))
		snprintf(text, PORT_TEXT, "%s %s: %s", text_of(port, "name"),
			text_of(port, "state"), text_of(port, "reason"));
	else
		snprintf(text, PORT_TEXT, "%s %s, %s", text_of(port, "name"),
			text_of(port, "state"), port_link_text(port, link));
	return text;
}

/* ", VLAN 100 of east"; "" with a device. */
static const char *
vlan_text(const json_t *port, char text[LINK_TEXT])
{
	const json_t *vlan = json_object_get(port, "vlan");
	long long inner = json_integer_value(json_array_get(vlan, 1));
	int n;

	text[0] = '\0';
	if (vlan == NULL)
		return text;
	n = snprintf(text, LINK_TEXT, ", VLAN %lld", json_integer_value(json_array_get(vlan, 0)));
	if (inner != 0)
		n += snprintf(text + n, LINK_TEXT - (size_t)n, ".%lld", inner);
	(void)snprintf(text + n, LINK_TEXT - (size_t)n, " of %s", text_of(port, "parent"));
	return text;
}

/* Notes that follow the table: why a session is down, and where RFC 8212 blocks a direction. */
static void
peer_notes(const struct ctl *ctl, const json_t *peer)
{
	json_t *families = json_object_get(peer, "families"), *f, *direction;
	const json_t *port = json_object_get(peer, "port");
	const char *name, *error = text_of(peer, "last_error");
	char text[PORT_TEXT];
	size_t i;

	if (!established(peer) && *error != '\0')
		printf("%s: last error: %s\n", text_of(peer, "address"), error);
	if (json_is_string(json_object_get(port, "reason")))
		printf("%s: port %s\n", text_of(peer, "address"), port_text(port, text));
	json_object_foreach(families, name, f)
	{
		if (json_object_get(f, "not_applied") != NULL) {
			printf("%s %s: ", text_of(peer, "address"), text_safe(name));
			print_colour(ctl, RED, "a policy change is not applied");
			printf(": %s; `reset bgp` applies it\n", text_of(f, "not_applied"));
		}
		json_array_foreach(json_object_get(f, "no_policy"), i, direction)
		{
			bool import = json_is_string(direction) &&
				      strcmp(json_string_value(direction), "import") == 0;

			printf("%s %s: ", text_of(peer, "address"), text_safe(name));
			print_colour(ctl, YELLOW,
				import ? "no import policy: nothing is accepted"
				       : "no export policy: nothing is sent");
			puts(" (RFC 8212)");
		}
	}
}

static void
show_summary(struct ctl *ctl, const json_t *result)
{
	const json_t *peers = json_object_get(result, "peers"), *peer;
	struct table t = table_begin("Peer|>AS|State|>Up|>Received|>Accepted|>Advertised|Family");
	unsigned up = 0;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		summary_rows(&t, peer);
		up += established(peer);
	}
	printf("%zu peer%s, %u established\n", json_array_size(peers),
		json_array_size(peers) == 1 ? "" : "s", up);
	if (json_array_size(peers) == 0)
		return;
	table_end(&t, ctl, 0);
	json_array_foreach(peers, i, peer) peer_notes(ctl, peer);
}

static void
print_capabilities(const struct ctl *ctl, const json_t *peer)
{
	struct table t = table_begin("Capability|Ours|Peer's|Negotiated");
	const char *name;
	json_t *c;

	json_object_foreach(json_object_get(peer, "capabilities"), name, c)
	{
		table_cell(&t, PLAIN, "%s", text_safe(name));
		table_cell(&t, PLAIN, "%s", yes_no(c, "local"));
		table_cell(&t, PLAIN, "%s", yes_no(c, "remote"));
		table_cell(&t, true_of(c, "negotiated") ? GREEN : PLAIN, "%s",
			yes_no(c, "negotiated"));
	}
	table_end(&t, ctl, 2);
}

/* Every capability in the OPEN of the peer, one a line. */
static void
print_offered(const json_t *peer)
{
	const char *title = "Offered";
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(peer, "offered"), i, c)
	{
		char code[SHORT_TEXT];

		snprintf(code, sizeof(code), "capability %s", text_of(c, "code"));
		printf("  %-16s %s%s%s\n", title,
			json_is_string(json_object_get(c, "name")) ? text_of(c, "name") : code,
			*text_of(c, "value") != '\0' ? " 0x" : "", text_of(c, "value"));
		title = "";
	}
}

/* Refused prefixes of the peer by cause, on one or more lines. */
static void
print_refused(const json_t *family)
{
	const char *cause, *title = "Refused";
	json_t *count;

	json_object_foreach(json_object_get(family, "refused"), cause, count)
	{
		if (json_number_value(count) <= 0)
			continue;
		printf("    %-14s %" JSON_INTEGER_FORMAT " %s\n", title, json_integer_value(count),
			text_safe(cause));
		title = "";
	}
}

static void
print_family(const struct ctl *ctl, const char *name, const json_t *f)
{
	const json_t *r = json_object_get(f, "refresh"),
		     *limit = json_object_get(f, "max_prefixes");

	fputs("  ", stdout);
	print_colour(ctl, BOLD, text_safe(name));
	printf("%s%s\n", true_of(f, "negotiated") ? "" : ", not negotiated",
		true_of(f, "slow") ? ", slow peer" : "");
	printf("    Routes         %s received, %s accepted, %s rejected so far\n",
		text_of(f, "received"), text_of(f, "accepted"), text_of(f, "rejected_total"));
	printf("    Advertised     %s\n", text_of(f, "advertised"));
	print_refused(f);
	printf("    End-of-RIB     received %s, sent %s\n", yes_no(f, "end_of_rib_received"),
		yes_no(f, "end_of_rib_sent"));
	printf("    Keep all       %s", yes_no(f, "keep_all_routes"));
	if (json_object_get(f, "kept") != NULL)
		printf(", %s kept", text_of(f, "kept"));
	putchar('\n');
	if (json_is_object(limit))
		printf("    Limit          %s routes, then %s%s\n", text_of(limit, "limit"),
			text_of(limit, "action"), true_of(limit, "exceeded") ? "; exceeded" : "");
	if (true_of(f, "retained"))
		printf("    Retained       routes of an earlier session, until End-of-RIB or a "
		       "timer\n");
	printf("    Refresh in     %s requested, %s stale swept\n                   BoRR %s, EoRR "
	       "%s received\n",
		text_of(r, "requests_sent"), text_of(r, "stale_swept"), text_of(r, "borr_received"),
		text_of(r, "eorr_received"));
	printf("    Refresh out    %s requested, %s served, %s coalesced\n                   BoRR "
	       "%s",
		text_of(r, "requests_received"), text_of(r, "served"), text_of(r, "coalesced"),
		text_of(r, "borr_sent"));
	printf(", EoRR %s sent\n", text_of(r, "eorr_sent"));
}

/* Prints properties that only some peers have. */
static void
print_peculiarities(const json_t *peer)
{
	static const char *const words[][2] = {{"dynamic", "dynamic"}, {"passive", "passive"},
		{"shutdown", "shut down"}, {"route_reflector_client", "route reflector client"},
		{"md5", "TCP-MD5"}, {"gtsm", "GTSM"},
		{"idle_hold", "waits before the next attempt"}};
	bool any = false;

	for (unsigned i = 0; i < COUNT(words); i++) {
		if (!true_of(peer, words[i][0]))
			continue;
		printf("%s%s", any ? ", " : "  Kind             ", words[i][1]);
		any = true;
	}
	if (any)
		putchar('\n');
}

/* Each member that is no object and no list, by its name. */
static void
print_members(json_t *peer)
{
	const char *key;
	json_t *v;

	json_object_foreach(peer, key, v)
	{
		if (!json_is_object(v) && !json_is_array(v))
			printf("  %-22s %s\n", key, value_text(v));
	}
}

static void
show_peer(struct ctl *ctl, const json_t *peer)
{
	char port[PORT_TEXT], up[SHORT_TEXT];
	const char *name;
	json_t *f;

	print_colour(ctl, BOLD, text_of(peer, "address"));
	printf(", AS %s, %s, VRF %s", text_of(peer, "asn"), text_of(peer, "type"),
		text_of(peer, "vrf"));
	if (json_is_string(json_object_get(peer, "group")))
		printf(", group %s", text_of(peer, "group"));
	if (json_is_string(json_object_get(peer, "description")))
		printf("\n  Description      %s", text_of(peer, "description"));
	fputs("\n  State            ", stdout);
	print_colour(ctl, state_colour(text_of(peer, "state")), text_of(peer, "state"));
	if (established(peer))
		printf(" for %s", duration_text(real_of(peer, "uptime_s"), up));
	printf("; %s time%s since the start\n", text_of(peer, "established_count"),
		number_of(peer, "established_count") == 1 ? "" : "s");
	if (true_of(peer, "held"))
		printf("  Held             exceeded max_prefixes; `reset bgp` starts the session "
		       "again\n");
	if (*text_of(peer, "last_error") != '\0')
		printf("  Last error       %s\n", text_of(peer, "last_error"));
	print_peculiarities(peer);
	if (json_object_get(peer, "port") != NULL)
		printf("  Port             %s\n", port_text(json_object_get(peer, "port"), port));
	printf("  Local address    %s\n  Hold time        %s s\n", text_of(peer, "local_address"),
		text_of(peer, "hold_time_s"));
	printf("  Messages         %s received (%s updates),\n                   %s sent (%s "
	       "updates)\n",
		text_of(peer, "messages_received"), text_of(peer, "updates_received"),
		text_of(peer, "messages_sent"), text_of(peer, "updates_sent"));
	print_capabilities(ctl, peer);
	print_offered(peer);
	json_object_foreach(json_object_get(peer, "families"), name, f) print_family(ctl, name, f);
	peer_notes(ctl, peer);
}

/* Removes the other families, and the peers without `family`; NULL: no change. */
static void
keep_family(json_t *peers, const char *family)
{
	size_t i = 0;

	while (family != NULL && i < json_array_size(peers)) {
		json_t *peer = json_array_get(peers, i);
		json_t *one =
			json_incref(json_object_get(json_object_get(peer, "families"), family));

		if (one == NULL) {
			json_array_remove(peers, i);
			continue;
		}
		json_object_set_new(peer, "families", json_pack("{s:o}", family, one));
		i++;
	}
}

void
show_bgp_summary(struct ctl *ctl, const struct command *c)
{
	json_t *result = ctl_call(ctl, "bgp.peers", command_params(c));

	keep_family(json_object_get(result, "peers"), c->family);
	ctl_result(ctl, result, show_summary);
}

void
show_bgp_peer(struct ctl *ctl, const struct command *c)
{
	json_t *result = ctl_call(ctl, "bgp.peers", command_params(c));
	json_t *peers = json_object_get(result, "peers");

	if (result == NULL)
		return;
	keep_family(peers, c->family);
	if (json_array_size(peers) == 0)
		ctl_fail(ctl, EXIT_REFUSED, "peer %s does not have %s", arg(c, "peer"),
			c->family != NULL ? c->family : "any address family");
	else if (ctl->json)
		ctl_print_json(result, false);
	else
		show_peer(ctl, json_array_get(peers, 0));
	if (!ctl->json && keyword(c, "verbose") != NULL)
		print_members(json_array_get(peers, 0));
	json_decref(result);
}

/* ---- show bgp peer ADDRESS faults ---- */

#define FAULT_LINE 76 /* hex digits per line */
#define FAULT_LINES 4

/* Prints the first octets of the message. */
static void
print_octets(const json_t *fault)
{
	const char *hex = json_string_value(json_object_get(fault, "octets"));
	long long length = number_of(fault, "length");
	size_t digits = hex != NULL ? strspn(hex, "0123456789abcdef") : 0, at = 0;

	for (; at < digits && at < FAULT_LINES * FAULT_LINE; at += FAULT_LINE)
		printf("  %.*s\n", FAULT_LINE, hex + at);
	if (at < digits || length > (long long)(digits / 2))
		printf("  %lld octets in total%s\n", length,
			at < digits ? "; --json prints more" : "");
}

static void
print_fault(const struct ctl *ctl, const json_t *fault)
{
	long long prefixes = number_of(fault, "prefixes");
	const char *severity = text_of(fault, "severity");
	char when[SHORT_TEXT];

	printf("%s  ", time_text(real_of(fault, "time"), "%F %T", when));
	print_colour(ctl, strcmp(severity, "attribute-discard") == 0 ? YELLOW : RED, severity);
	if (json_is_string(json_object_get(fault, "family")))
		printf(", %lld prefix%s of %s", prefixes, prefixes == 1 ? "" : "es",
			text_of(fault, "family"));
	printf("\n  %s\n", text_of(fault, "text"));
	print_octets(fault);
}

void
show_faults(struct ctl *ctl, const json_t *result)
{
	const json_t *faults = json_object_get(result, "faults"), *fault;
	size_t i;

	if (json_array_size(faults) == 0)
		puts("no faulty messages");
	json_array_foreach(faults, i, fault) print_fault(ctl, fault);
}

/* ---- show fib, show rib ---- */

void
show_fib_lookup(struct ctl *ctl, const json_t *result)
{
	const json_t *paths = json_object_get(result, "paths"), *p;
	struct table t = table_begin("Next hop|Port|MAC|State");
	size_t i;

	if (!json_is_string(json_object_get(result, "prefix"))) {
		printf("no route, generation %s\n", text_of(result, "generation"));
		return;
	}
	print_colour(ctl, BOLD, text_of(result, "prefix"));
	if (json_is_string(json_object_get(result, "kind")))
		printf(", %s", text_of(result, "kind"));
	printf(", generation %s\n", text_of(result, "generation"));
	if (json_array_size(paths) == 0)
		return;
	json_array_foreach(paths, i, p)
	{
		table_texts(&t, p, "next_hop port mac");
		table_cell(&t, state_colour(text_of(p, "state")), "%s%s", text_of(p, "state"),
			true_of(p, "backup") ? ", backup" : "");
	}
	table_end(&t, ctl, 2);
}

static void
histogram_row(struct table *t, const char *title, const json_t *h)
{
	static const char *const keys[] = {"min", "p50", "p90", "p99", "p999", "max"};
	char text[SHORT_TEXT];

	table_cell(t, PLAIN, "%s", title);
	table_cell(t, PLAIN, "%s", text_of(h, "count"));
	for (unsigned i = 0; i < COUNT(keys); i++)
		table_cell(t, PLAIN, "%s",
			number_of(h, "count") > 0 ? ns_text(real_of(h, keys[i]), text) : "-");
}

#define HISTOGRAM "|>Count|>Min|>p50|>p90|>p99|>p99.9|>Max"

void
show_fib_stats(struct ctl *ctl, const json_t *result)
{
	struct table t;

	printf("generation %s, %s commits, %s delayed by a worker that did not run\n",
		text_of(result, "generation"), text_of(result, "commits"),
		text_of(result, "commits_delayed"));
	list_print(ctl, json_object_get(result, "tables"),
		"VRF=vrf|Family=family|>Routes=routes|>Not installed=not_installed:bad|"
		">Groups=groups_used|>Memory=memory_bytes:bytes|>Writes=writes",
		NULL);
	t = table_begin(HISTOGRAM);
	histogram_row(&t, "commit", json_object_get(result, "commit_ns"));
	histogram_row(&t, "grace period", json_object_get(result, "grace_ns"));
	histogram_row(&t, "update to fib", json_object_get(result, "update_to_fib_ns"));
	histogram_row(&t, "update to all workers", json_object_get(result, "update_to_workers_ns"));
	if (json_object_get(result, "link_ns") != NULL)
		histogram_row(&t, "link loss", json_object_get(result, "link_ns"));
	table_end(&t, ctl, 0);
}

/* ---- show dataplane ---- */

/* Packets for this router: a row for each class with packets. */
static void
print_host(struct ctl *ctl, const json_t *ports)
{
	static const char *const keys[] = {"passed", "policed", "lost"};
	struct table t = table_begin("Port|To this router|>Passed|>Policed|>Lost");
	const char *class;
	const json_t *port;
	json_t *counters;
	size_t i;

	json_array_foreach(ports, i, port)
	{
		json_object_foreach(json_object_get(port, "host"), class, counters)
		{
			long long all = 0;

			for (unsigned k = 0; k < COUNT(keys); k++)
				all += number_of(counters, keys[k]);
			if (all == 0)
				continue;
			table_cell(&t, PLAIN, "%s", text_of(port, "name"));
			table_cell(&t, PLAIN, "%s", class);
			for (unsigned k = 0; k < COUNT(keys); k++)
				table_cell(&t,
					k > 0 && number_of(counters, keys[k]) > 0 ? YELLOW : PLAIN,
					"%s", text_of(counters, keys[k]));
		}
	}
	table_end(&t, ctl, 0);
}

void
show_dataplane(struct ctl *ctl, const json_t *result)
{
	const json_t *workers = json_object_get(result, "workers"), *w, *address;
	char reason_text[PORT_TEXT], vlan[LINK_TEXT];
	size_t i, k;

	list_print(ctl, json_object_get(result, "ports"),
		"Port=name|State=state:state|>RX packets=rx_packets|>TX packets=tx_packets|"
		">RX bytes=rx_bytes:bytes|>TX bytes=tx_bytes:bytes|>RX missed=rx_missed:warn|"
		">TX dropped=tx_dropped:warn|Workers=queues:worker",
		NULL);
	json_array_foreach(json_object_get(result, "ports"), i, w)
	{
		if (json_is_string(json_object_get(w, "reason")) ||
			number_of(w, "speed_mbps") != 0 || json_object_get(w, "vlan") != NULL)
			printf("port %s%s\n", port_text(w, reason_text), vlan_text(w, vlan));
		json_array_foreach(json_object_get(w, "duplicate_addresses"), k, address)
			printf("port %s: another machine has the address %s\n", text_of(w, "name"),
				text_safe(json_string_value(address)));
	}
	putchar('\n');
	print_host(ctl, json_object_get(result, "ports"));
	putchar('\n');
	list_print(ctl, workers,
		">CPU=cpu|>Forwarded=forwarded|>Punted=punted|>Dropped=drops:warn|"
		">Cycles=cycles_per_packet:whole|>Gap p50=loop_gap_ns.p50:ns|"
		">p99.9=loop_gap_ns.p999:ns|>Max=loop_gap_ns.max:ns",
		NULL);
	json_array_foreach(workers, i, w)
	{
		const char *reason;
		json_t *n;

		json_object_foreach(json_object_get(w, "drops"), reason, n)
		{
			if (json_integer_value(n) > 0)
				printf("CPU %s dropped %lld: %s\n", text_of(w, "cpu"),
					(long long)json_integer_value(n), text_safe(reason));
		}
	}
}

/* ---- show threads ---- */

void
show_threads(struct ctl *ctl, const json_t *result)
{
	static const char *const kinds[] = {"slice", "turn"}, *const keys[] = {
								      "p50", "p99", "p999", "max"};
	struct table t = table_begin("Thread|>CPU||>Count|>p50|>p99|>p99.9|>Max");
	const json_t *thread;
	char text[SHORT_TEXT], key[16];
	size_t i;

	json_array_foreach(json_object_get(result, "threads"), i, thread)
	{
		for (unsigned k = 0; k < COUNT(kinds); k++) {
			const json_t *h;

			snprintf(key, sizeof(key), "%s_ns", kinds[k]);
			h = json_object_get(thread, key);
			table_cell(&t, PLAIN, "%s", k == 0 ? text_of(thread, "name") : "");
			table_cell(&t, PLAIN, "%s",
				k == 0 ? ns_text(real_of(thread, "cpu_s") * 1e9, text) : "");
			table_cell(&t, PLAIN, "%s", kinds[k]);
			table_cell(&t, PLAIN, "%s", text_of(h, "count"));
			for (unsigned n = 0; n < COUNT(keys); n++)
				table_cell(&t, PLAIN, "%s",
					number_of(h, "count") > 0
						? ns_text(real_of(h, keys[n]), text)
						: "-");
		}
	}
	table_end(&t, ctl, 0);
	t = table_begin(HISTOGRAM);
	histogram_row(&t, "keepalive lateness", json_object_get(result, "keepalive_late_ns"));
	table_end(&t, ctl, 0);
}

/* ---- other ---- */

void
show_forwarder(struct ctl *ctl, const json_t *result)
{
	const json_t *f = json_object_get(result, "forwarder");

	if (!json_is_object(f)) {
		puts("no data plane");
		return;
	}
	printf("keelfwd pid %s, %s keeld pid %s\n", text_of(f, "pid"),
		true_of(f, "adopted") ? "adopted by"
		: true_of(f, "own")   ? "started by"
				      : "started by a supervisor, with the ports of",
		text_of(result, "pid"));
	if (number_of(f, "ends") > 0)
		printf("ends of keelfwd since the start of keeld: %s\n", text_of(f, "ends"));
	if (true_of(f, "adopted"))
		printf("before, %s s without a keeld; repairs of links: %s\n",
			text_of(f, "alone_s"), text_of(f, "repairs"));
	if (true_of(f, "lost"))
		puts("keelfwd has ended: nothing forwards");
	else
		printf("workers use the tables of %s\n",
			true_of(f, "published") ? "this keeld" : "the keeld before");
}

void
show_version(struct ctl *ctl, const json_t *result)
{
	const json_t *alarms = json_object_get(result, "alarms"), *a;
	const char *dpdk = text_of(result, "dpdk_version");
	char up[SHORT_TEXT], place[512];
	size_t i;

	printf("keeld %s, pid %s, up %s\n", text_of(result, "version"), text_of(result, "pid"),
		duration_text(real_of(result, "uptime_s"), up));
	if (true_of(result, "dataplane"))
		printf("data plane %s, FIB generation %s\n", dpdk, text_of(result, "generation"));
	else
		printf("no data plane\n");
	printf("configuration revision %s\n", text_of(result, "revision"));
	json_array_foreach(json_object_get(result, "restart_required"), i, a)
	{
		print_colour(ctl, YELLOW, "restart required");
		printf(": %s differs from the value in use\n",
			place_text(NULL, json_string_value(a), place, sizeof(place)));
	}
	json_array_foreach(alarms, i, a)
	{
		print_colour(ctl, RED, "alarm");
		printf(" %s: %s\n", text_of(a, "kind"), text_of(a, "text"));
	}
}

void
show_jobs(struct ctl *ctl, const json_t *result)
{
	struct table t = table_begin(">Job|Kind|State|>Done|>Total|Started|>Took|Result");
	const json_t *jobs = json_object_get(result, "jobs"), *job;
	size_t i;

	if (json_array_size(jobs) == 0) {
		printf("no jobs\n");
		return;
	}
	json_array_foreach(jobs, i, job)
	{
		const char *state = text_of(job, "state");
		bool running = strcmp(state, "running") == 0;
		char text[SHORT_TEXT];

		table_texts(&t, job, "id kind");
		table_cell(&t, state_colour(state), "%s", state);
		table_texts(&t, job, "done total");
		table_cell(&t, PLAIN, "%s", time_text(real_of(job, "started_s"), "%m-%d %T", text));
		table_cell(&t, PLAIN, "%s",
			running ? "-"
				: ns_text((real_of(job, "finished_s") - real_of(job, "started_s")) *
						  1e9,
					  text));
		table_cell(&t, PLAIN, "%s", text_of(json_object_get(job, "result"), "reason"));
	}
	table_end(&t, ctl, 0);
}

static void
print_document(struct ctl *ctl, const json_t *result)
{
	(void)ctl;
	ctl_print_json(json_object_get(result, "document"), true);
}

void
show_configuration(struct ctl *ctl, const struct command *c)
{
	const char *source = keyword(c, "candidate|startup");

	ctl_result(ctl,
		ctl_call(ctl, "config.get",
			json_pack("{s:s}", "source", source != NULL ? source : "running")),
		print_document);
}

void
show_rpki(struct ctl *ctl, const json_t *result)
{
	const json_t *vrps = json_object_get(result, "vrps");

	list_print(ctl, json_object_get(result, "caches"),
		"Cache=address|>Port=port|>Pref=preference|State=state:state|Used=used|>Ver="
		"version|"
		">Serial=serial|>IPv4=ipv4|>IPv6=ipv6|>Errors=errors|Last error=error",
		"no cache is configured");
	printf("records in use: %s IPv4, %s IPv6\n", text_of(vrps, "ipv4"), text_of(vrps, "ipv6"));
}
