/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lines of the grammar, with the texts for help, completion and keelctl(1) (scripts/reference).
 */
#include "control/cli/keelctl.h"

#include <string.h>

#define SHOW "{show | display} "
#define FAMILY "[ipv6 | vpn-instance NAME:vrf {ipv4-family | ipv6-family} | vpnv4 | vpnv6] "
#define INSTANCE "vpn-instance NAME:vrf [ipv4-family | ipv6-family]"
#define ROUTES "route [ipv4 | ipv6 | vpnv4 | vpnv6 | " INSTANCE "] "
#define TABLES "[ipv4 | ipv6 | vpnv4 | vpnv6 | " INSTANCE "] "
#define SELECTORS                                                                                  \
	"peer ADDRESS:peer | advertised | received | rd RD | community COMMUNITY | as-path REGEX " \
	"| "                                                                                       \
	"best | detail | terse | count"
#define SUBJECT "{PREFIX | ADDRESS [MASK | LENGTH]} "
#define REFRESH                                                                                    \
	"refresh bgp " FAMILY                                                                      \
	"{all | external | internal | group NAME:group | ADDRESS:peer} {import | "                 \
	"export}"
#define PEER "peer {ADDRESS:peer | GROUP} "
#define VIEW_FAMILIES (VIEW_FAMILY | VIEW_VRF)
#define VIEW_LISTS (VIEW_SYSTEM | VIEW_POLICY)
#define COMMUNITIES "{none! | [rt! | soo!] COMMUNITY... [additive! | overwrite! | delete!]}"

/* Messages and help keep this order. */
const struct command_rule command_rules[] = {
	{VIEW_ANY, rpc_command, "rpc METHOD [JSON]", false,
		"Calls a method of the daemon and prints its result; keel-rpc(7) describes the "
		"methods."},
	{VIEW_ANY, show_bgp_summary, SHOW "bgp " TABLES "{summary | peer}", false,
		"Sessions, one line for each peer and address family: of all VRFs, of one address "
		"family, or of one VPN instance."},
	{VIEW_ANY, show_bgp_peer, SHOW "bgp " TABLES "peer ADDRESS:peer [verbose]", false,
		"One session in full, of the default VRF or of a VPN instance; with `verbose` also "
		"each number and text that the daemon answers, by its name."},
	{VIEW_ANY, show_answer, SHOW "bgp [vpn-instance NAME:vrf] peer ADDRESS:peer faults", false,
		"The last faulty messages of a peer.", .method = "bgp.faults",
		.print = show_faults},
	{VIEW_ANY, show_route, SHOW ROUTES "{PREFIX | ADDRESS} <longer | " SELECTORS ">", false,
		"Routes to a prefix, or to the longest prefix that holds an address. `longer` adds "
		"more specific prefixes; `peer` selects the routes of one peer; `rd` selects the "
		"VPN routes of one route distinguisher, and is necessary with an address.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_route, SHOW ROUTES "<" SELECTORS ">", false,
		"All routes, or those of one peer: after the import policy, as received, or as "
		"advertised to the peer. `community`, `as-path` (a regular expression, `_` is a "
		"delimiter) and `best` select; the daemon applies them. `detail` prints all "
		"attributes, `terse` one short line for each route, `count` only a number.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_route, SHOW "bgp " TABLES "routing-table " SUBJECT "[longer-prefixes]",
		false,
		"The same as `show route`, in the words of VRP. The prefix may have a length or a "
		"mask.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_route,
		SHOW "bgp " TABLES
		     "routing-table <peer ADDRESS:peer | advertised-routes | received-routes | "
		     "community COMMUNITY | regular-expression REGEX | statistics | verbose>",
		false,
		"The same as `show route`, in the words of VRP. `received-routes` are the routes "
		"as received, or after the import policy where the peer has no `keep-all-routes`.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_route,
		SHOW "{ip | ipv6} routing-table [vpn-instance NAME:vrf] [" SUBJECT
		     "] <statistics | verbose>",
		false, "The best routes of a table, in the words of VRP.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_fate, SHOW ROUTES "{PREFIX | ADDRESS} fate [rd RD]", false,
		"What became of the announcements of a prefix: which peers announced it and when, "
		"which node of a policy accepted, changed or refused it, why a path is not best, "
		"whether the forwarding tables have it, and why a peer does or does not get it. Of "
		"an address: the longest prefix that anybody announces. A VPN family needs `rd`.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_changes, SHOW ROUTES "{PREFIX | ADDRESS} history [rd RD]", false,
		"The last changes of a prefix, newest first: announcements, withdrawals, refusals "
		"with policy and node, lost sessions, and how the best path moved and why. A time "
		"without a fraction is that of the path: announcements of whole tables have no "
		"record of their own. Of an address: the longest prefix that anybody announced. A "
		"VPN family needs `rd`.",
		.family = FAMILY_OF_ROUTES},
	{VIEW_ANY, show_answer, SHOW "fib [stats]", false,
		"The forwarding tables: sizes, generation, durations.", .method = "fib.stats",
		.print = show_fib_stats},
	{VIEW_ANY, show_answer, SHOW "fib ADDRESS", false,
		"Where the workers send a packet to this address.", .method = "fib.lookup",
		.print = show_fib_lookup},
	{VIEW_ANY, show_configuration, SHOW "configuration [running | candidate | startup]", false,
		"A configuration document; `running` when no word follows."},
	{VIEW_ANY, show_answer, SHOW "dataplane", false,
		"Counters of ports and workers; drops by reason.", .method = "dataplane.stats",
		.print = show_dataplane},
	{VIEW_ANY, show_answer, SHOW "dataplane neighbors", false, "The neighbours on the links.",
		.method = "dataplane.neighbors", .list = "",
		.columns = "Address=address|Port=port|MAC=mac|State=state", .none = "no neighbors"},
	{VIEW_ANY, show_answer, SHOW "threads", false,
		"Control threads: processor time, slices and turns.", .method = "control.stats",
		.print = show_threads},
	{VIEW_ANY, show_answer, SHOW "version", false,
		"Version and uptime of the daemon, and its alarms.", .method = "system.info",
		.print = show_version},
	{VIEW_ANY, show_answer, SHOW "forwarder", false,
		"keelfwd, the process with ports and workers.", .method = "system.info",
		.print = show_forwarder},
	{VIEW_ANY, show_answer, SHOW "jobs", false, "Running jobs, and those that ended last.",
		.method = "jobs.list", .print = show_jobs},
	{VIEW_ANY, show_answer, SHOW "rib", false, "Sizes of the tables of routes.",
		.method = "rib.summary", .list = "tables",
		.columns = "VRF=vrf|Family=family|>Prefixes=prefixes|>Paths=paths|>Attribute "
			   "sets=attribute_sets|>Memory=memory_bytes:bytes"},
	{VIEW_ANY, show_answer, SHOW "{vrf | vpn-instance} [NAME:vrf]", false,
		"VPN instances: route distinguisher, MPLS label, peers, prefixes, route targets.",
		.method = "vrf.list", .list = "vrfs",
		.columns =
			"VRF=name|RD=rd|>Label=label|>Peers=peers|>IPv4=prefixes.ipv4-unicast|>"
			"IPv6=prefixes.ipv6-unicast|Imports=import_targets|Exports=export_targets"},
	{VIEW_ANY, show_policy, SHOW "policy [NAME]", false, "Route policies, node by node."},
	{VIEW_ANY, show_refresh, SHOW "refresh", false, "Counters of refreshes, and their jobs."},
	{VIEW_ANY, show_answer, SHOW "history [ID]", false,
		"The commits; or one commit, with what it changed in the document.",
		.method = "config.history", .print = show_history},
	{VIEW_ANY, show_answer, SHOW "audit", false,
		"The last 100 calls that changed something, or tried to, each with user, origin, "
		"method and result. `rpc audit.list` lists older calls.",
		.method = "audit.list", .print = show_audit},
	{VIEW_ANY, show_answer, SHOW "candidates!", false,
		"The users with edits that are not committed. Each user has a candidate. The word "
		"is not abbreviated.",
		.method = "config.candidates", .print = show_candidates},
	{VIEW_ANY, show_answer, SHOW "rpki", false,
		"RPKI caches, and the validated ROA payloads in use.", .method = "rpki.summary",
		.print = show_rpki},
	{VIEW_ANY, show_answer, SHOW "bmp!", false,
		"BMP collectors: connection, tables sent, and losses. The word is not "
		"abbreviated.",
		.method = "bmp.summary", .list = "collectors",
		.columns =
			"Collector=address|>Port=port|State=state:state|Synced=synced|>Peers=peers|"
			">Queued=queued_octets|>Resyncs=resyncs|>Stalls=stalls|Last error=error",
		.none = "no collector is configured"},
	{VIEW_ANY, show_answer, SHOW "mrt", false,
		"Files of the key `mrt`: what is written, lost, and the last error.",
		.method = "mrt.summary", .list = "files",
		.columns = "File=file|Kind=kind|>Interval=interval_s|>Files=files|>Records=records|"
			   ">Drops=drops|Last error=error",
		.none = "no file is configured"},
	{VIEW_ANY, show_answer, SHOW "diff", false,
		"What a commit would change in the document: the old value beside the new value.",
		.method = "config.diff", .print = show_diff},
	{VIEW_ANY, show_configuration, SHOW "candidate", false,
		"The candidate: the document that is being edited."},
	{VIEW_ANY, trace_command,
		"trace {peer ADDRESS:peer | prefix PREFIX | policy NAME:policy} <vpn-instance "
		"NAME:vrf | for "
		"SECONDS | file FILE>",
		false,
		"Prints each message, verdict, decision, export and change of the forwarding "
		"tables that touches a peer, a prefix or a policy, for 60 seconds or `for` "
		"SECONDS, or until Ctrl-C. `file` also writes a capture for Wireshark; the daemon "
		"creates the file, which must not exist."},
	{VIEW_ANY, import_command, "import {bird | frr | vrp} FILE", false,
		"Translates the configuration of BIRD 2, FRR or VRP in a file to a keel.json on "
		"standard output. For each line of the file, standard error says `done`, `changed: "
		"how` or `not carried: why`; the exit status is 1 while a line is not carried."},
	{VIEW_ANY, doctor_command, "doctor!", false,
		"What this machine lacks for ports and workers, one line for each fault with the "
		"command that mends the fault: IOMMU, hugepages by socket, isolated CPUs, "
		"governor, NUMA balancing, and of a daemon that runs the sockets of ports and "
		"workers, queues, busy polling. Changes nothing; the exit status is 1 while there "
		"is a fault. The word is not abbreviated."},
	{VIEW_ANY, monitor_command, "monitor events", false,
		"Prints events as they come, until Ctrl-C: commits, sessions, refreshes, slow "
		"peers, generations, alarms."},
	{VIEW_ANY, watch_command, "watch COMMAND", false,
		"Repeats a show command every two seconds, until Ctrl-C. Quotes are not "
		"necessary."},
	{VIEW_USER, refresh_command, REFRESH " [wait]", false,
		"Soft reset: applies the policies of one direction again. No session ends. Answers "
		"at once; `show jobs` shows the end. With `wait` answers after the end; the exit "
		"status is 1 if the job fails.",
		.family = FAMILY_OF_PEERS},
	{VIEW_USER, reset_command,
		"reset bgp " FAMILY
		"{all | external | internal | group NAME:group | ADDRESS:peer | AS-NUMBER}",
		false,
		"Ends sessions with all their address families; they start again. The shell asks "
		"first.",
		.family = FAMILY_OF_PEERS},
	{VIEW_USER, reset_command,
		"reset bgp {vpnv4 | vpnv6 | ipv4 | ipv6} [ADDRESS:peer] slow-peer", false,
		"Ends the sessions of peers that are slow now.", .family = FAMILY_OF_PEERS},
	{VIEW_USER, enter_system, "system-view", false,
		"Enters the system view, to edit the configuration."},
	{VIEW_LISTS, enter_bgp, "bgp AS-NUMBER", true,
		"Enters the BGP view. The AS number must be that of the router. `undo bgp "
		"AS-NUMBER` removes the BGP configuration.",
		.edit = remove_bgp},
	{VIEW_BGP | VIEW_VRF, edit_command, PEER "as-number AS-NUMBER", true,
		"Sets the AS number of a peer or a group; creates a peer that does not exist.",
		.edit = set_asn},
	{VIEW_BGP | VIEW_VRF, edit_command, PEER "group NAME", true,
		"Lets a peer inherit from a group.", .edit = set_group},
	{VIEW_BGP | VIEW_FAMILIES, edit_command, PEER "enable", true,
		"Exchanges the address family of this view with the peer; in the BGP view IPv4 "
		"unicast.",
		.edit = set_enable},
	{VIEW_FAMILIES, edit_command, PEER "route-policy NAME {import | export}", true,
		"Applies a route policy in one direction.", .edit = set_policy},
	{VIEW_FAMILIES, edit_command, PEER "route-limit NUMBER [alert-only | discard]", true,
		"Ends the session beyond so many routes; or only raises an alarm, or discards "
		"further routes.",
		.edit = set_setting},
#define SETTING(views, words, value, kind, key, home, on, number, help)                            \
	{views, edit_command, PEER words value, true, help, .edit = set_setting,                   \
		.undo_short = true},
#include "control/cli/keelctl_settings.def"
	{VIEW_BGP | VIEW_VRF, edit_command, PEER "password {simple | cipher} TEXT:value", true,
		"TCP-MD5 key of the session; both words take the key itself.", .edit = set_setting},
	{VIEW_BGP | VIEW_VRF, edit_command, PEER "timer keepalive NUMBER:keepalive hold NUMBER",
		true, "Keepalive interval and hold time of the session, in seconds.",
		.edit = set_setting},
	{VIEW_BGP | VIEW_VRF, edit_command, "undo " PEER, false,
		"Removes a peer with all its lines; a group by `undo group`.", .edit = remove_peer},
	{VIEW_FAMILIES, edit_command, "network {PREFIX | ADDRESS {MASK | LENGTH}}", true,
		"Announces a prefix.", .edit = edit_network},
	{VIEW_BGP | VIEW_FAMILIES, edit_command,
		"import-route {connected | direct | static | kernel} [route-policy NAME]", true,
		"Announces the routes of another source.", .edit = edit_import_route},
	{VIEW_SYSTEM, edit_command,
		"{ip | ipv6} route-static [vpn-instance NAME:vrf] {PREFIX | ADDRESS {MASK | "
		"LENGTH}} "
		"{ADDRESS | NULL0} [tag NUMBER] [description TEXT]",
		true, "A static route; NULL0 drops the packets.", .edit = edit_static,
		.section = "static_routes"},
	{VIEW_LISTS, edit_command,
		"ip {ip-prefix | ipv6-prefix} NAME [index NUMBER:index] {permit | deny} {PREFIX | "
		"ADDRESS {MASK | LENGTH}} [greater-equal NUMBER:ge] [less-equal NUMBER:le]",
		false,
		"An entry of a prefix list. Entries are tried by rising `index`; without `index` "
		"the entry is the last. An entry with the index of another entry replaces it.",
		.edit = add_entry, .section = ""},
	{VIEW_LISTS, edit_command,
		"ip as-path-filter NAME [index NUMBER:index] {permit | deny} REGEX", false,
		"An entry of an AS-path list.", .edit = add_entry, .section = ""},
	{VIEW_LISTS, edit_command,
		"ip {community-filter | large-community-filter | extcommunity-filter} [basic!] "
		"NAME [index NUMBER:index] {permit | deny} [rt! | soo!] COMMUNITY",
		false,
		"An entry of a list of communities; extended communities as rt:64512:1, or with "
		"the word `rt`.",
		.edit = add_entry, .section = ""},
	{VIEW_LISTS, edit_command,
		"undo ip {ip-prefix | ipv6-prefix | as-path-filter | {community-filter | "
		"large-community-filter | extcommunity-filter} [basic!]} NAME [index NUMBER:index]",
		false, "Removes a list, or one entry.", .edit = remove_entry, .section = ""},
	{VIEW_LISTS, enter_policy, "route-policy NAME {permit | deny} node NUMBER:node", false,
		"Enters the view of a node of a route policy; creates a node that does not exist. "
		"Nodes are tried by rising number; a route that no node matches is denied.",
		.edit = put_node, .section = "route_policies"},
	{VIEW_LISTS, remove_node, "undo route-policy NAME [node NUMBER:node]", false,
		"Removes a route policy, or one node.", .edit = remove_policy,
		.section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"if-match {ip-prefix | ipv6 address prefix-list | as-path-filter | "
		"community-filter | large-community-filter | extcommunity-filter | ip next-hop "
		"ip-prefix | ipv6 next-hop prefix-list} NAME...",
		true,
		"Condition: one of the lists matches the prefix, the AS path, a community or the "
		"next hop. All conditions of a node must hold.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "if-match {cost | local-preference | tag} NUMBER", true,
		"Condition: MED, LOCAL_PREF or tag.", .edit = edit_member,
		.section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"if-match {protocol {direct | static | kernel} | origin {igp | egp | incomplete} | "
		"rpki origin-as-validation {valid | invalid | not-found}}",
		true, "Condition: source, ORIGIN, or the validation of the origin (RFC 6811).",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"undo if-match {ip-prefix | ipv6 address prefix-list | as-path-filter | "
		"community-filter | large-community-filter | extcommunity-filter | ip next-hop "
		"ip-prefix | ipv6 next-hop prefix-list | cost | local-preference | tag | protocol "
		"| origin | rpki origin-as-validation}",
		false, "Removes a condition.", .edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "apply {cost | local-preference} [+ | -] NUMBER", true,
		"Sets MED or LOCAL_PREF, or adds to it, or subtracts.", .edit = edit_member,
		.section = "route_policies"},
	{VIEW_POLICY, edit_command, "apply tag NUMBER", true, "Sets the tag of the route.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "apply origin {igp | egp | incomplete}", true, "Sets ORIGIN.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"apply {community | large-community | extcommunity} " COMMUNITIES, true,
		"Replaces the communities of the route; `additive` adds, `delete` removes, `none` "
		"removes all.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "apply as-path AS-NUMBER... [additive]", true,
		"Prepends one AS number to the AS path, as often as the line repeats the number.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"apply {ip-address | ipv6} next-hop {ADDRESS | peer-address | self | blackhole}",
		true,
		"Sets the next hop: an address, that of the peer, that of this router, or none: "
		"the workers drop the packets.",
		.edit = edit_member, .section = "route_policies"},
	{VIEW_POLICY, edit_command,
		"undo apply {cost | local-preference | tag | origin | community | large-community "
		"| extcommunity | as-path | {ip-address | ipv6} next-hop}",
		false, "Leaves the attribute unchanged.", .edit = edit_member,
		.section = "route_policies"},
	{VIEW_POLICY, edit_command, "goto {next-node | node NUMBER:node}", true,
		"After a permit of this node the walk continues at a later node. `next-node` sets "
		"the number of the next node, so enter that node first.",
		.edit = edit_node, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "call NAME", true,
		"Applies another policy: a route that it rejects is rejected; its changes come "
		"before those of this node.",
		.edit = edit_node, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "description TEXT...", true, "Describes the node.",
		.edit = edit_node, .section = "route_policies"},
	{VIEW_POLICY, edit_command, "undo {goto | call | description}", false,
		"Removes a line of this node.", .edit = edit_node, .section = "route_policies"},
	{VIEW_SYSTEM, edit_path, "set PATH VALUE", false,
		"Sets any key of the document: PATH is a JSON Pointer, VALUE is JSON; keel.json(5) "
		"describes the keys."},
	{VIEW_SYSTEM, edit_path, "undo set PATH", false, "Removes any key of the document."},
	{VIEW_ANY, display_lines, SHOW "{current-configuration | this}", false,
		"The running configuration, or in a configuration view the lines of this view of "
		"the candidate, as lines that can be typed again. Passwords are not printed."},
	{VIEW_BGP, edit_command, "group NAME", true, "Creates a peer group.", .edit = edit_group},
	{VIEW_BGP | VIEW_FAMILIES, enter_family,
		"ipv4-family {unicast | vpnv4 | vpn-instance NAME:vrf}", false,
		"Enters the view of an IPv4 address family."},
	{VIEW_BGP | VIEW_FAMILIES, enter_family,
		"ipv6-family {unicast | vpnv6 | vpn-instance NAME:vrf}", false,
		"Enters the view of an IPv6 address family."},
	{VIEW_ANY, preview_command, "preview [policy-files]", false,
		"What a commit of the candidate, with or without `policy-files`, would change; "
		"changes nothing."},
	{VIEW_ANY, preview_command, "preview " REFRESH, false,
		"What a refresh would change; changes nothing.", .family = FAMILY_OF_PEERS},
	{VIEW_ANY, commit_command, "commit [comment TEXT] [confirm SECONDS] [policy-files] [force]",
		false,
		"Makes the candidate the running configuration, and lists what it publishes. "
		"Changed policy files are taken where the candidate has no edits and no commit "
		"waits for its confirmation, and with `policy-files` in every case. With `confirm` "
		"it is rolled back after that time, or at a restart, unless confirmed. A commit "
		"that ends a session asks first on a terminal; elsewhere it needs `force`."},
	{VIEW_ANY, confirm_command, "confirm", false,
		"Keeps the commit that waits for a confirmation."},
	/* "re" abbreviates refresh and reset. */
	{VIEW_ANY, reload_command, "reload!", false,
		"Commits the configuration file as it is on disk. The word is not abbreviated."},
	{VIEW_ANY, rollback_command, "rollback ID [force]", false,
		"Commits the document and the policy files of an earlier commit at once. Asks, or "
		"needs `force`, as `commit` does."},
	{VIEW_ANY, resolve_command, "resolve! {mine | theirs}", false,
		"Ends the conflicts with commits of other users, which `show diff` lists: `mine` "
		"replaces the edited keys of their objects with the next commit, `theirs` drops "
		"the edits of these objects. The word is not abbreviated."},
	/* "dis" abbreviates display. */
	{VIEW_ANY, discard_command, "discard!", false,
		"Drops all edits that are not committed. The word is not abbreviated."},
	{VIEW_ANY, view_quit, "quit", false, "Leaves the view; in the user view leaves keelctl."},
	{VIEW_CONFIG, view_return, "return", false, "Returns to the user view."},
	{VIEW_ANY, help_command, "help", false, "Lists the commands of the view."},
	{VIEW_FILTER, NULL, "include TEXT...", false,
		"Only lines that match the regular expression."},
	{VIEW_FILTER, NULL, "exclude TEXT...", false, "Only lines that do not match."},
	{VIEW_FILTER, NULL, "begin TEXT...", false, "All lines from the first that matches."},
	{VIEW_FILTER, NULL, "count [TEXT...]", false,
		"Only the number of lines, or of the lines that match."},
};
const unsigned command_rule_count = sizeof(command_rules) / sizeof(command_rules[0]);

/*
 * The help of a word: the first entry whose `after` is the preceding keyword. NULL matches all
 * keywords, "" the start of a line.
 */
static const struct command_word {
	const char *word, *after, *help;
} command_words[] = {
#define WORD(word, after, help) {word, after, help},
#include "control/cli/keelctl_settings.def"
	{"ADDRESS", "route", "IPv4 or IPv6 address, for the longest match"},
	{"ADDRESS", "vpn-instance", "IPv4 or IPv6 address, for the longest match"},
	{"ADDRESS", "fib", "IPv4 or IPv6 address of a packet's destination"},
	{"ADDRESS", "next-hop", "IPv4 or IPv6 address"},
	{"ADDRESS", "permit", "IPv4 or IPv6 address of a prefix"},
	{"ADDRESS", "deny", "IPv4 or IPv6 address of a prefix"},
	{"ADDRESS", NULL, "IPv4 or IPv6 address of a peer; link-local as fe80::2%port"},
	{"AS-NUMBER", NULL, "AS number, 1 to 4294967295, plain or dotted"},
	{"COMMAND", NULL, "a show command"},
	{"FILE", "bird", "a configuration file of BIRD 2"},
	{"FILE", "frr", "a configuration file of FRR"},
	{"FILE", "vrp", "a configuration file of VRP"},
	{"bird", "import", "BIRD 2"},
	{"frr", "import", "FRR"},
	{"vrp", "import", "VRP: NE, CE and S series"},
	{"import", "", "translate the configuration of another router"},
	{"FILE", NULL, "path of a file that does not exist"},
	{"GROUP", NULL, "name of a peer group"},
	{"ID", NULL, "id of a commit; show history lists them"},
	{"JSON", NULL, "parameters as a JSON object; \"-\" reads standard input"},
	{"METHOD", NULL, "name of a JSON-RPC method"},
	{"NAME", "group", "name of a peer group"},
	{"NAME", "vpn-instance", "name of a VPN instance"},
	{"NAME", "vrf", "name of a VPN instance"},
	{"NAME", "ip-prefix", "name of a prefix list"},
	{"NAME", "ipv6-prefix", "name of a prefix list"},
	{"NAME", "prefix-list", "name of a prefix list"},
	{"NAME", "as-path-filter", "name of an AS-path list"},
	{"NAME", "community-filter", "name of a list of communities"},
	{"NAME", "large-community-filter", "name of a list of large communities"},
	{"NAME", "extcommunity-filter", "name of a list of extended communities"},
	{"NAME", "basic", "name of a list of communities"},
	{"NAME", NULL, "name of a route policy"},
	{"NUMBER", "index", "place in the list, 1 to 4294967295"},
	{"NUMBER", "node", "place in the policy, 1 to 4294967295"},
	{"NUMBER", "greater-equal", "shortest prefix length"},
	{"NUMBER", "less-equal", "longest prefix length"},
	{"+", NULL, "add to the attribute"},
	{"-", NULL, "subtract from the attribute"},
	{"additive", NULL, "keep what the route has"},
	{"address", NULL, "addresses of destinations"},
	{"apply", NULL, "change an attribute"},
	{"as-path", "apply", "prepend an AS number"},
	{"as-path-filter", NULL, "lists of AS paths"},
	{"rt", NULL, "route targets"},
	{"soo", NULL, "sites of origin"},
	{"basic", NULL, "accepted as in VRP, without an effect"},
	{"blackhole", NULL, "drop the packets"},
	{"call", NULL, "apply another route policy"},
	{"community", "apply", "communities (RFC 1997)"},
	{"community-filter", NULL, "lists of communities"},
	{"cost", NULL, "MED"},
	{"delete", NULL, "remove these communities"},
	{"deny", NULL, "no match; of a node: reject the route"},
	{"egp", NULL, "ORIGIN EGP"},
	{"extcommunity", NULL, "extended communities (RFC 4360)"},
	{"extcommunity-filter", NULL, "lists of extended communities"},
	{"goto", NULL, "continue at a later node"},
	{"greater-equal", NULL, "at least this prefix length"},
	{"if-match", NULL, "a condition of the node"},
	{"igp", NULL, "ORIGIN IGP"},
	{"incomplete", NULL, "ORIGIN INCOMPLETE"},
	{"index", NULL, "place of the entry in the list"},
	{"invalid", NULL, "a ROA covers the prefix, and none matches"},
	{"ip", "if-match", "IPv4"},
	{"ip-address", NULL, "IPv4"},
	{"ip-prefix", NULL, "prefix lists"},
	{"ipv6", "if-match", "IPv6"},
	{"ipv6", "apply", "IPv6"},
	{"ipv6-prefix", NULL, "prefix lists"},
	{"large-community", NULL, "large communities (RFC 8092)"},
	{"large-community-filter", NULL, "lists of large communities"},
	{"less-equal", NULL, "at most this prefix length"},
	{"local-preference", NULL, "LOCAL_PREF"},
	{"next-hop", NULL, "the next hop"},
	{"next-node", NULL, "the next node of the policy"},
	{"node", NULL, "a node of the route policy"},
	{"none", NULL, "no communities"},
	{"not-found", NULL, "no ROA covers the prefix"},
	{"origin", NULL, "ORIGIN"},
	{"origin-as-validation", NULL, "validation of the origin (RFC 6811)"},
	{"overwrite", NULL, "replace what the route has; the default"},
	{"peer-address", NULL, "the address of the peer"},
	{"permit", NULL, "a match; of a node: accept the route"},
	{"prefix-list", NULL, "prefix lists"},
	{"protocol", NULL, "where the route comes from"},
	{"rpki", "if-match", "origin validation"},
	{"self", NULL, "an address of this router"},
	{"tag", "if-match", "tag of the route"},
	{"tag", "apply", "tag of the route"},
	{"valid", NULL, "a ROA matches"},
	{"COMMUNITY", NULL, "64512:7, no-export, 1:2:3 or rt:64512:1"},
	{"LENGTH", NULL, "length of the prefix"},
	{"MASK", NULL, "mask of the prefix, as 255.255.255.0"},
	{"REGEX", NULL, "regular expression for the AS path; _ is a delimiter"},
	{"advertised-routes", NULL, "routes as advertised to the peer"},
	{"as-path", NULL, "routes whose AS path matches a regular expression"},
	{"best", NULL, "best routes"},
	{"community", NULL, "routes with a community"},
	{"count", NULL, "only the number of routes"},
	{"detail", NULL, "all attributes"},
	{"ip", "", "lists, and IPv4 routes"},
	{"ipv6", "", "IPv6 routes"},
	{"ip", "undo", "lists, and IPv4 routes"},
	{"ipv6", "undo", "IPv6 routes"},
	{"ip", NULL, "best routes of IPv4"},
	{"longer-prefixes", NULL, "also more specific prefixes"},
	{"received-routes", NULL, "routes as received"},
	{"regular-expression", NULL, "routes whose AS path matches a regular expression"},
	{"routing-table", NULL, "routes"},
	{"statistics", NULL, "only the number of routes"},
	{"terse", NULL, "one short line for each route"},
	{"verbose", NULL, "all attributes"},
	{"ipv6", "show", "best routes of IPv6"},
	{"ipv6", "display", "best routes of IPv6"},
	{"PATH", NULL, "place in the document, as /bgp/max_paths"},
	{"VALUE", NULL, "JSON; in single quotes when it has blanks"},
	{"NUMBER", NULL, "0 to 4294967295"},
	{"route-limit", NULL, "limit of routes"},
	{"alert-only", NULL, "only raise an alarm"},
	{"password", NULL, "TCP-MD5 key"},
	{"simple", NULL, "the key itself"},
	{"cipher", NULL, "the key itself"},
	{"timer", NULL, "timers of the session"},
	{"keepalive", NULL, "interval in seconds"},
	{"hold", NULL, "seconds without a message"},
	{"network", NULL, "announce a prefix"},
	{"import-route", NULL, "announce routes of another source"},
	{"connected", NULL, "connected subnets"},
	{"direct", NULL, "connected subnets"},
	{"static", NULL, "static routes"},
	{"kernel", NULL, "routes of the kernel"},
	{"route-static", NULL, "a static route"},
	{"NULL0", NULL, "drop the packets"},
	{"tag", NULL, "a number for policies"},
	{"set", NULL, "set any key of the document"},
	{"current-configuration", NULL, "the configuration as lines"},
	{"this", NULL, "the lines of this view"},
	{"PREFIX", NULL, "address and length, as 192.0.2.0/24"},
	{"RD", NULL, "route distinguisher, as 64512:1"},
	{"SECONDS", "for", "1 to 3600"},
	{"SECONDS", NULL, "1 to 86400"},
	{"TEXT", "include", "a regular expression"},
	{"TEXT", "exclude", "a regular expression"},
	{"TEXT", "begin", "a regular expression"},
	{"TEXT", "count", "a regular expression"},
	{"TEXT", NULL, "comment; in quotes when it has blanks"},
	{"|", NULL, "filter the output"},
	{"include", NULL, "lines that match"},
	{"exclude", NULL, "lines that do not match"},
	{"begin", NULL, "lines from the first that matches"},
	{"count", "", "the number of lines"},
	{"advertised", NULL, "routes as advertised to the peer"},
	{"all", NULL, "every session with the address family"},
	{"as-number", NULL, "AS number of the peer"},
	{"audit", NULL, "the last calls that changed something, with their users"},
	{"bgp", "", "enter the BGP view"},
	{"bgp", "undo", "remove the BGP configuration"},
	{"bgp", NULL, "BGP sessions"},
	{"bmp", NULL, "BMP collectors"},
	{"mrt", NULL, "files of table dumps and of messages"},
	{"candidate", NULL, "the document that is being edited"},
	{"rpki", NULL, "RPKI caches and the records in use"},
	{"candidates", NULL, "the users with edits that are not committed"},
	{"capability-advertise", NULL, "capabilities of the OPEN message"},
	{"comment", NULL, "comment for the history"},
	{"commit", NULL, "make the candidate the running configuration"},
	{"configuration", NULL, "a configuration document"},
	{"confirm", "", "keep the commit that waits for a confirmation"},
	{"confirm", NULL, "roll back unless confirmed within this time"},
	{"dataplane", NULL, "ports and workers"},
	{"diff", NULL, "difference between the running document and the candidate"},
	{"discard", "route-limit", "discard further routes"},
	{"discard", NULL, "drop all edits that are not committed (in full)"},
	{"display", NULL, "the same as show"},
	{"doctor", NULL, "what this machine lacks for ports and workers"},
	{"enable", NULL, "exchange this address family with the peer"},
	{"events", NULL, "events as they come"},
	{"export", NULL, "routes to the peers"},
	{"external", NULL, "external sessions (EBGP)"},
	{"faults", NULL, "the last faulty messages of the peer"},
	{"fate", NULL, "what became of the announcements"},
	{"fib", NULL, "the forwarding tables"},
	{"file", NULL, "write a capture for Wireshark"},
	{"for", NULL, "end after this time"},
	{"force", NULL, "also if sessions end"},
	{"group", "", "create a peer group"},
	{"group", "undo", "remove a peer group"},
	{"group", NULL, "the members of a group"},
	{"help", NULL, "list the commands of this view"},
	{"history", NULL, "the commits, or the changes of a prefix"},
	{"import", NULL, "routes from the peers"},
	{"internal", NULL, "internal sessions (IBGP)"},
	{"ipv4", NULL, "IPv4 unicast"},
	{"ipv4-family", NULL, "an IPv4 address family"},
	{"ipv6", NULL, "IPv6 unicast"},
	{"ipv6-family", NULL, "an IPv6 address family"},
	{"jobs", NULL, "running jobs, and those that ended last"},
	{"longer", NULL, "also more specific prefixes"},
	{"mine", NULL, "my edits replace the commits of others"},
	{"monitor", NULL, "print events as they come"},
	{"neighbors", NULL, "neighbours on the links"},
	{"policy-files", NULL, "also with the policy files as they are on disk"},
	{"peer", "trace", "what touches a peer"},
	{"peer", "bgp", "one session in full"},
	{"peer", "route", "routes of one peer"},
	{"peer", "vpn-instance", "one peer of the VPN instance"},
	{"peer", "ipv4-family", "one peer of the VPN instance"},
	{"peer", "ipv6-family", "one peer of the VPN instance"},
	{"peer", NULL, "a peer or a group"},
	{"policy", "trace", "verdicts of a route policy"},
	{"policy", NULL, "route policies, node by node"},
	{"prefix", NULL, "what touches a prefix"},
	{"preview", NULL, "what a commit or a refresh would change"},
	{"quit", NULL, "leave this view; in the user view leave keelctl"},
	{"rd", NULL, "VPN routes of one route distinguisher"},
	{"received", NULL, "routes as received, before the import policy"},
	{"refresh", "show", "counters of refreshes, and their jobs"},
	{"refresh", "display", "counters of refreshes, and their jobs"},
	{"refresh", NULL, "soft reset: apply policies again; no session ends"},
	{"reload", NULL, "commit the configuration file as it is on disk"},
	{"reset", NULL, "end sessions; they start again"},
	{"resolve", NULL, "end the conflicts with commits of other users"},
	{"return", NULL, "return to the user view"},
	{"rib", NULL, "sizes of the tables of routes"},
	{"rollback", NULL, "commit the document of an earlier commit"},
	{"route", NULL, "routes, best and others"},
	{"route-policy", "", "the view of a node of a route policy"},
	{"route-policy", "undo", "a route policy, or one node"},
	{"route-policy", NULL, "route policy of one direction"},
	{"rpc", NULL, "call any method of the daemon"},
	{"running", NULL, "the document in force"},
	{"show", NULL, "print state"},
	{"slow-peer", NULL, "only peers that are slow now"},
	{"startup", NULL, "the document on disk"},
	{"stats", NULL, "sizes, generation, durations"},
	{"summary", NULL, "sessions, one line for each peer and address family"},
	{"system-view", NULL, "enter the system view, to edit the configuration"},
	{"theirs", NULL, "the commits of others replace my edits"},
	{"threads", NULL, "control threads: processor time, slices and turns"},
	{"trace", NULL, "print what touches a peer, a prefix or a policy"},
	{"undo", NULL, "undo a line of this view"},
	{"unicast", NULL, "unicast of the default VRF"},
	{"forwarder", NULL, "keelfwd, the process with ports and workers"},
	{"version", NULL, "version, uptime and alarms of the daemon"},
	{"vpn-instance", "show", "VPN instances"},
	{"vpn-instance", "display", "VPN instances"},
	{"vpn-instance", "route", "routes of a VPN instance"},
	{"vpn-instance", NULL, "address family of a VPN instance"},
	{"vpnv4", NULL, "VPN-IPv4"},
	{"vpnv6", NULL, "VPN-IPv6"},
	{"vrf", NULL, "VPN instances"},
	{"wait", NULL, "answer after the end"},
	{"watch", NULL, "repeat a show command"},
};

const char *
command_help(const char *after, const char *word)
{
	const struct command_word *w = command_words;

	for (unsigned i = 0; i < sizeof(command_words) / sizeof(command_words[0]); i++, w++) {
		if (strcmp(w->word, word) == 0 &&
			(w->after == NULL || strcmp(w->after, after != NULL ? after : "") == 0))
			return w->help;
	}
	return "";
}
