/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lines of the grammar, with the texts for help, completion and keelctl(1) (scripts/reference).
 */
#include "control/cli/keelctl_parse.h"

#include <string.h>

#define SHOW "{show | display} "
#define FAMILY "[ipv6 | vpn-instance NAME {ipv4-family | ipv6-family} | vpnv4 | vpnv6] "
#define INSTANCE "vpn-instance NAME [ipv4-family | ipv6-family]"
#define ROUTES "route [ipv4 | ipv6 | vpnv4 | vpnv6 | " INSTANCE "] "
#define TABLES "[ipv4 | ipv6 | vpnv4 | vpnv6 | " INSTANCE "] "
#define SELECTORS                                                                                  \
	"peer ADDRESS | advertised | received | rd RD | community COMMUNITY | as-path REGEX | "    \
	"best | detail | terse | count"
#define SUBJECT "{PREFIX | ADDRESS [MASK | LENGTH]} "
#define REFRESH                                                                                    \
	"refresh bgp " FAMILY "{all | external | internal | group NAME | ADDRESS} {import | "      \
	"export}"
#define PEER "peer {ADDRESS | GROUP} "
#define VIEW_FAMILIES (VIEW_FAMILY | VIEW_VRF)
#define VIEW_LISTS (VIEW_SYSTEM | VIEW_POLICY)
#define COMMUNITIES "{none! | [rt! | soo!] COMMUNITY... [additive! | overwrite! | delete!]}"

/* Messages and help keep this order. */
const struct command_rule command_rules[] = {
	{VIEW_ANY, COMMAND_RPC, "rpc METHOD [JSON]", false,
		"Calls a method of the daemon and prints its result; keel-rpc(7) describes the "
		"methods."},
	{VIEW_ANY, COMMAND_SHOW_BGP_SUMMARY, SHOW "bgp " TABLES "{summary | peer}", false,
		"Sessions, one line for each peer and address family: of all VRFs, of one address "
		"family, or of one VPN instance."},
	{VIEW_ANY, COMMAND_SHOW_BGP_PEER, SHOW "bgp " TABLES "peer ADDRESS [verbose]", false,
		"One session in full, of the default VRF or of a VPN instance."},
	{VIEW_ANY, COMMAND_SHOW_BGP_FAULTS, SHOW "bgp [vpn-instance NAME] peer ADDRESS faults",
		false, "The last faulty messages of a peer."},
	{VIEW_ANY, COMMAND_SHOW_ROUTE, SHOW ROUTES "{PREFIX | ADDRESS} <longer | " SELECTORS ">",
		false,
		"Routes to a prefix, or to the longest prefix that holds an address. `longer` adds "
		"more specific prefixes; `peer` selects the routes of one peer; `rd` selects the "
		"VPN routes of one route distinguisher, and is necessary with an address."},
	{VIEW_ANY, COMMAND_SHOW_ROUTE, SHOW ROUTES "<" SELECTORS ">", false,
		"All routes, or those of one peer: after the import policy, as received, or as "
		"advertised to the peer. `community`, `as-path` (a regular expression, `_` is a "
		"delimiter) and `best` select; the daemon applies them. `detail` prints all "
		"attributes, `terse` one short line for each route, `count` only a number."},
	{VIEW_ANY, COMMAND_SHOW_ROUTE,
		SHOW "bgp " TABLES "routing-table " SUBJECT "[longer-prefixes]", false,
		"The same as `show route`, in the words of VRP. The prefix may have a length or a "
		"mask."},
	{VIEW_ANY, COMMAND_SHOW_ROUTE,
		SHOW "bgp " TABLES
		     "routing-table <peer ADDRESS | advertised-routes | received-routes | "
		     "community COMMUNITY | regular-expression REGEX | statistics | verbose>",
		false,
		"The same as `show route`, in the words of VRP. `received-routes` are the routes "
		"as received, or after the import policy where the peer has no `keep-all-routes`."},
	{VIEW_ANY, COMMAND_SHOW_ROUTE,
		SHOW "{ip | ipv6} routing-table [vpn-instance NAME] [" SUBJECT
		     "] <statistics | verbose>",
		false, "The best routes of a table, in the words of VRP."},
	{VIEW_ANY, COMMAND_SHOW_FATE, SHOW ROUTES "{PREFIX | ADDRESS} fate [rd RD]", false,
		"What became of the announcements of a prefix: which peers announced it and when, "
		"which node of a policy accepted, changed or refused it, why a path is not best, "
		"whether the forwarding tables have it, and why a peer does or does not get it. Of "
		"an address: the longest prefix that anybody announces. A VPN family needs `rd`."},
	{VIEW_ANY, COMMAND_SHOW_CHANGES, SHOW ROUTES "{PREFIX | ADDRESS} history [rd RD]", false,
		"The last changes of a prefix, newest first: announcements, withdrawals, refusals "
		"with policy and node, lost sessions, and how the best path moved and why. A time "
		"without a fraction is that of the path: announcements of whole tables have no "
		"record of their own. Of an address: the longest prefix that anybody announced. A "
		"VPN family needs `rd`."},
	{VIEW_ANY, COMMAND_SHOW_FIB_STATS, SHOW "fib [stats]", false,
		"The forwarding tables: sizes, generation, durations."},
	{VIEW_ANY, COMMAND_SHOW_FIB_LOOKUP, SHOW "fib ADDRESS", false,
		"Where the workers send a packet to this address."},
	{VIEW_ANY, COMMAND_SHOW_CONFIGURATION, SHOW "configuration [running | candidate | startup]",
		false, "A configuration document; `running` when no word follows."},
	{VIEW_ANY, COMMAND_SHOW_DATAPLANE, SHOW "dataplane", false,
		"Counters of ports and workers; drops by reason."},
	{VIEW_ANY, COMMAND_SHOW_NEIGHBORS, SHOW "dataplane neighbors", false,
		"The neighbours on the links."},
	{VIEW_ANY, COMMAND_SHOW_THREADS, SHOW "threads", false,
		"Control threads: processor time, slices and turns."},
	{VIEW_ANY, COMMAND_SHOW_VERSION, SHOW "version", false,
		"Version and uptime of the daemon, and its alarms."},
	{VIEW_ANY, COMMAND_SHOW_FORWARDER, SHOW "forwarder", false,
		"keelfwd, the process with ports and workers."},
	{VIEW_ANY, COMMAND_SHOW_JOBS, SHOW "jobs", false,
		"Running jobs, and those that ended last."},
	{VIEW_ANY, COMMAND_SHOW_RIB, SHOW "rib", false, "Sizes of the tables of routes."},
	{VIEW_ANY, COMMAND_SHOW_VRF, SHOW "{vrf | vpn-instance} [NAME]", false,
		"VPN instances: route distinguisher, MPLS label, peers, prefixes, route targets."},
	{VIEW_ANY, COMMAND_SHOW_POLICY, SHOW "policy [NAME]", false,
		"Route policies, node by node."},
	{VIEW_ANY, COMMAND_SHOW_REFRESH, SHOW "refresh", false,
		"Counters of refreshes, and their jobs."},
	{VIEW_ANY, COMMAND_SHOW_HISTORY, SHOW "history [ID]", false,
		"The commits; or one commit, with what it changed in the document."},
	{VIEW_ANY, COMMAND_SHOW_AUDIT, SHOW "audit", false,
		"The last 100 calls that changed something, or tried to, each with user, origin, "
		"method and result. `rpc audit.list` lists older calls."},
	{VIEW_ANY, COMMAND_SHOW_CANDIDATES, SHOW "candidates!", false,
		"The users with edits that are not committed. Each user has a candidate. The word "
		"is not abbreviated."},
	{VIEW_ANY, COMMAND_SHOW_RPKI, SHOW "rpki", false,
		"RPKI caches, and the validated ROA payloads in use."},
	{VIEW_ANY, COMMAND_SHOW_BMP, SHOW "bmp!", false,
		"BMP collectors: connection, tables sent, and losses. The word is not "
		"abbreviated."},
	{VIEW_ANY, COMMAND_SHOW_MRT, SHOW "mrt", false,
		"Files of the key `mrt`: what is written, lost, and the last error."},
	{VIEW_ANY, COMMAND_SHOW_DIFF, SHOW "diff", false,
		"What a commit would change in the document: the old value beside the new value."},
	{VIEW_ANY, COMMAND_SHOW_CONFIGURATION, SHOW "candidate", false,
		"The candidate: the document that is being edited."},
	{VIEW_ANY, COMMAND_TRACE,
		"trace {peer ADDRESS | prefix PREFIX | policy NAME} <vpn-instance NAME | for "
		"SECONDS | file FILE>",
		false,
		"Prints each message, verdict, decision, export and change of the forwarding "
		"tables that touches a peer, a prefix or a policy, for 60 seconds or `for` "
		"SECONDS, or until Ctrl-C. `file` also writes a capture for Wireshark; the daemon "
		"creates the file, which must not exist."},
	{VIEW_ANY, COMMAND_IMPORT, "import {bird | frr | vrp} FILE", false,
		"Translates the configuration of BIRD 2, FRR or VRP in a file to a keel.json on "
		"standard output. For each line of the file, standard error says `done`, `changed: "
		"how` or `not carried: why`; the exit status is 1 while a line is not carried."},
	{VIEW_ANY, COMMAND_DOCTOR, "doctor!", false,
		"What this machine lacks for ports and workers, one line for each fault with the "
		"command that mends the fault: IOMMU, hugepages by socket, isolated CPUs, "
		"governor, NUMA balancing, and of a daemon that runs the sockets of ports and "
		"workers, queues, busy polling. Changes nothing; the exit status is 1 while there "
		"is a fault. The word is not abbreviated."},
	{VIEW_ANY, COMMAND_MONITOR, "monitor events", false,
		"Prints events as they come, until Ctrl-C: commits, sessions, refreshes, slow "
		"peers, generations, alarms."},
	{VIEW_ANY, COMMAND_WATCH, "watch COMMAND", false,
		"Repeats a show command every two seconds, until Ctrl-C. Quotes are not "
		"necessary."},
	{VIEW_USER, COMMAND_REFRESH, REFRESH " [wait]", false,
		"Soft reset: applies the policies of one direction again. No session ends. Answers "
		"at once; `show jobs` shows the end. With `wait` answers after the end; the exit "
		"status is 1 if the job fails."},
	{VIEW_USER, COMMAND_RESET,
		"reset bgp " FAMILY
		"{all | external | internal | group NAME | ADDRESS | AS-NUMBER}",
		false,
		"Ends sessions with all their address families; they start again. The shell asks "
		"first."},
	{VIEW_USER, COMMAND_RESET, "reset bgp {vpnv4 | vpnv6 | ipv4 | ipv6} [ADDRESS] slow-peer",
		false, "Ends the sessions of peers that are slow now."},
	{VIEW_USER, COMMAND_SYSTEM_VIEW, "system-view", false,
		"Enters the system view, to edit the configuration."},
	{VIEW_LISTS, COMMAND_BGP_VIEW, "bgp AS-NUMBER", true,
		"Enters the BGP view. The AS number must be that of the router. `undo bgp "
		"AS-NUMBER` removes the BGP configuration."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_AS_NUMBER, PEER "as-number AS-NUMBER", true,
		"Sets the AS number of a peer or a group; creates a peer that does not exist."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_GROUP, PEER "group NAME", true,
		"Lets a peer inherit from a group."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_ROUTE_REFRESH, PEER "capability-advertise route-refresh",
		true, "Offers route refresh to the peer; undo sets it to false."},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_PEER_ENABLE, PEER "enable", true,
		"Exchanges the address family of this view with the peer; in the BGP view IPv4 "
		"unicast."},
	{VIEW_FAMILIES, COMMAND_PEER_KEEP_ALL_ROUTES, PEER "keep-all-routes", true,
		"Keeps all routes as received, so that a new policy applies without asking the "
		"peer."},
	{VIEW_FAMILIES, COMMAND_PEER_ROUTE_POLICY, PEER "route-policy NAME {import | export}", true,
		"Applies a route policy in one direction."},
	{VIEW_FAMILIES, COMMAND_PEER_SETTING,
		PEER "{next-hop-local | next-hop-invariable | public-as-only | substitute-as | "
		     "default-route-advertise | advertise-community}",
		true,
		"The peer gets this router as next hop, the next hop unchanged, no private AS "
		"numbers, this AS number in place of the peer's, a default route, communities."},
	{VIEW_FAMILIES, COMMAND_PEER_SETTING, PEER "allow-as-loop [NUMBER]", true,
		"Accepts AS paths that hold this AS number, so many times; once without a number."},
	{VIEW_FAMILIES, COMMAND_PEER_SETTING, PEER "route-limit NUMBER [alert-only | discard]",
		true,
		"Ends the session beyond so many routes; or only raises an alarm, or discards "
		"further routes."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "description TEXT", true,
		"Describes the peer or group; in quotes when it has blanks."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING,
		PEER "{ignore | listen-only | reflect-client | check-first-as | valid-ttl-hops}",
		true,
		"Keeps the session down; waits for the peer to connect; is a client of this route "
		"reflector; must begin its AS paths with its own AS number (the default); is "
		"directly connected (RFC 5082)."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "password {simple | cipher} TEXT", true,
		"TCP-MD5 key of the session; both words take the key itself."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "connect-interface ADDRESS", true,
		"Local address of the session."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "ebgp-max-hop [NUMBER]", true,
		"The peer may be so many hops away; 255 without a number."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "fake-as AS-NUMBER", true,
		"AS number of this router towards the peer."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING, PEER "timer keepalive NUMBER hold NUMBER", true,
		"Keepalive interval and hold time of the session, in seconds."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_SETTING,
		PEER "{timer {hold | connect-retry} | route-update-interval} NUMBER", true,
		"Hold time, retry interval, and least interval between announcements, in seconds."},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_REMOVE, "undo " PEER, false,
		"Removes a peer with all its lines; a group by `undo group`."},
	{VIEW_FAMILIES, COMMAND_NETWORK, "network {PREFIX | ADDRESS {MASK | LENGTH}}", true,
		"Announces a prefix."},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_IMPORT_ROUTE,
		"import-route {connected | direct | static | kernel} [route-policy NAME]", true,
		"Announces the routes of another source."},
	{VIEW_SYSTEM, COMMAND_STATIC,
		"{ip | ipv6} route-static [vpn-instance NAME] {PREFIX | ADDRESS {MASK | LENGTH}} "
		"{ADDRESS | NULL0} [tag NUMBER] [description TEXT]",
		true, "A static route; NULL0 drops the packets."},
	{VIEW_LISTS, COMMAND_LIST_ENTRY,
		"ip {ip-prefix | ipv6-prefix} NAME [index NUMBER] {permit | deny} {PREFIX | "
		"ADDRESS {MASK | LENGTH}} [greater-equal NUMBER] [less-equal NUMBER]",
		false,
		"An entry of a prefix list. Entries are tried by rising `index`; without `index` "
		"the entry is the last. An entry with the index of another entry replaces it."},
	{VIEW_LISTS, COMMAND_LIST_ENTRY,
		"ip as-path-filter NAME [index NUMBER] {permit | deny} REGEX", false,
		"An entry of an AS-path list."},
	{VIEW_LISTS, COMMAND_LIST_ENTRY,
		"ip {community-filter | large-community-filter | extcommunity-filter} [basic!] "
		"NAME [index NUMBER] {permit | deny} [rt! | soo!] COMMUNITY",
		false,
		"An entry of a list of communities; extended communities as rt:64512:1, or with "
		"the word `rt`."},
	{VIEW_LISTS, COMMAND_LIST_REMOVE,
		"undo ip {ip-prefix | ipv6-prefix | as-path-filter | {community-filter | "
		"large-community-filter | extcommunity-filter} [basic!]} NAME [index NUMBER]",
		false, "Removes a list, or one entry."},
	{VIEW_LISTS, COMMAND_POLICY_VIEW, "route-policy NAME {permit | deny} node NUMBER", false,
		"Enters the view of a node of a route policy; creates a node that does not exist. "
		"Nodes are tried by rising number; a route that no node matches is denied."},
	{VIEW_LISTS, COMMAND_POLICY_REMOVE, "undo route-policy NAME [node NUMBER]", false,
		"Removes a route policy, or one node."},
	{VIEW_POLICY, COMMAND_IF_MATCH,
		"if-match {ip-prefix | ipv6 address prefix-list | as-path-filter | "
		"community-filter | large-community-filter | extcommunity-filter | ip next-hop "
		"ip-prefix | ipv6 next-hop prefix-list} NAME...",
		true,
		"Condition: one of the lists matches the prefix, the AS path, a community or the "
		"next hop. All conditions of a node must hold."},
	{VIEW_POLICY, COMMAND_IF_MATCH, "if-match {cost | local-preference | tag} NUMBER", true,
		"Condition: MED, LOCAL_PREF or tag."},
	{VIEW_POLICY, COMMAND_IF_MATCH,
		"if-match {protocol {direct | static | kernel} | origin {igp | egp | incomplete} | "
		"rpki origin-as-validation {valid | invalid | not-found}}",
		true, "Condition: source, ORIGIN, or the validation of the origin (RFC 6811)."},
	{VIEW_POLICY, COMMAND_IF_MATCH,
		"undo if-match {ip-prefix | ipv6 address prefix-list | as-path-filter | "
		"community-filter | large-community-filter | extcommunity-filter | ip next-hop "
		"ip-prefix | ipv6 next-hop prefix-list | cost | local-preference | tag | protocol "
		"| origin | rpki origin-as-validation}",
		false, "Removes a condition."},
	{VIEW_POLICY, COMMAND_APPLY, "apply {cost | local-preference} [+ | -] NUMBER", true,
		"Sets MED or LOCAL_PREF, or adds to it, or subtracts."},
	{VIEW_POLICY, COMMAND_APPLY, "apply tag NUMBER", true, "Sets the tag of the route."},
	{VIEW_POLICY, COMMAND_APPLY, "apply origin {igp | egp | incomplete}", true, "Sets ORIGIN."},
	{VIEW_POLICY, COMMAND_APPLY,
		"apply {community | large-community | extcommunity} " COMMUNITIES, true,
		"Replaces the communities of the route; `additive` adds, `delete` removes, `none` "
		"removes all."},
	{VIEW_POLICY, COMMAND_APPLY, "apply as-path AS-NUMBER... [additive]", true,
		"Prepends one AS number to the AS path, as often as the line repeats the number."},
	{VIEW_POLICY, COMMAND_APPLY,
		"apply {ip-address | ipv6} next-hop {ADDRESS | peer-address | self | blackhole}",
		true,
		"Sets the next hop: an address, that of the peer, that of this router, or none: "
		"the workers drop the packets."},
	{VIEW_POLICY, COMMAND_APPLY,
		"undo apply {cost | local-preference | tag | origin | community | large-community "
		"| extcommunity | as-path | {ip-address | ipv6} next-hop}",
		false, "Leaves the attribute unchanged."},
	{VIEW_POLICY, COMMAND_NODE, "goto {next-node | node NUMBER}", true,
		"After a permit of this node the walk continues at a later node. `next-node` sets "
		"the number of the next node, so enter that node first."},
	{VIEW_POLICY, COMMAND_NODE, "call NAME", true,
		"Applies another policy: a route that it rejects is rejected; its changes come "
		"before those of this node."},
	{VIEW_POLICY, COMMAND_NODE, "description TEXT...", true, "Describes the node."},
	{VIEW_POLICY, COMMAND_NODE, "undo {goto | call | description}", false,
		"Removes a line of this node."},
	{VIEW_SYSTEM, COMMAND_SET, "set PATH VALUE", false,
		"Sets any key of the document: PATH is a JSON Pointer, VALUE is JSON; keel.json(5) "
		"describes the keys."},
	{VIEW_SYSTEM, COMMAND_UNSET, "undo set PATH", false, "Removes any key of the document."},
	{VIEW_ANY, COMMAND_DISPLAY_LINES, SHOW "{current-configuration | this}", false,
		"The running configuration, or in a configuration view the lines of this view of "
		"the candidate, as lines that can be typed again. Passwords are not printed."},
	{VIEW_BGP, COMMAND_GROUP, "group NAME", true, "Creates a peer group."},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_FAMILY_VIEW,
		"ipv4-family {unicast | vpnv4 | vpn-instance NAME}", false,
		"Enters the view of an IPv4 address family."},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_FAMILY_VIEW,
		"ipv6-family {unicast | vpnv6 | vpn-instance NAME}", false,
		"Enters the view of an IPv6 address family."},
	{VIEW_ANY, COMMAND_PREVIEW, "preview [policy-files]", false,
		"What a commit of the candidate, with or without `policy-files`, would change; "
		"changes nothing."},
	{VIEW_ANY, COMMAND_PREVIEW_REFRESH, "preview " REFRESH, false,
		"What a refresh would change; changes nothing."},
	{VIEW_ANY, COMMAND_COMMIT, "commit [comment TEXT] [confirm SECONDS] [policy-files] [force]",
		false,
		"Makes the candidate the running configuration, and lists what it publishes. "
		"Changed policy files are taken where the candidate has no edits and no commit "
		"waits for its confirmation, and with `policy-files` in every case. With `confirm` "
		"it is rolled back after that time, or at a restart, unless confirmed. A commit "
		"that ends a session asks first on a terminal; elsewhere it needs `force`."},
	{VIEW_ANY, COMMAND_CONFIRM, "confirm", false,
		"Keeps the commit that waits for a confirmation."},
	/* "re" abbreviates refresh and reset. */
	{VIEW_ANY, COMMAND_RELOAD, "reload!", false,
		"Commits the configuration file as it is on disk. The word is not abbreviated."},
	{VIEW_ANY, COMMAND_ROLLBACK, "rollback ID [force]", false,
		"Commits the document and the policy files of an earlier commit at once. Asks, or "
		"needs `force`, as `commit` does."},
	{VIEW_ANY, COMMAND_RESOLVE, "resolve! {mine | theirs}", false,
		"Ends the conflicts with commits of other users, which `show diff` lists: `mine` "
		"replaces the edited keys of their objects with the next commit, `theirs` drops "
		"the edits of these objects. The word is not abbreviated."},
	/* "dis" abbreviates display. */
	{VIEW_ANY, COMMAND_DISCARD, "discard!", false,
		"Drops all edits that are not committed. The word is not abbreviated."},
	{VIEW_ANY, COMMAND_QUIT, "quit", false,
		"Leaves the view; in the user view leaves keelctl."},
	{VIEW_CONFIG, COMMAND_RETURN, "return", false, "Returns to the user view."},
	{VIEW_ANY, COMMAND_HELP, "help", false, "Lists the commands of the view."},
};
const unsigned command_rule_count = sizeof(command_rules) / sizeof(command_rules[0]);

/*
 * The help of a word: the first entry whose `after` is the preceding keyword. NULL matches all
 * keywords, "" the start of a line.
 */
static const struct command_word {
	const char *word, *after, *help;
} command_words[] = {
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
	{"next-hop-local", NULL, "this router as next hop"},
	{"next-hop-invariable", NULL, "the next hop unchanged"},
	{"public-as-only", NULL, "no private AS numbers"},
	{"substitute-as", NULL, "this AS number in place of the peer's"},
	{"default-route-advertise", NULL, "a default route"},
	{"advertise-community", NULL, "communities; the default"},
	{"allow-as-loop", NULL, "AS paths that hold this AS number"},
	{"route-limit", NULL, "limit of routes"},
	{"alert-only", NULL, "only raise an alarm"},
	{"description", NULL, "text for people"},
	{"ignore", NULL, "keep the session down"},
	{"listen-only", NULL, "wait for the peer to connect"},
	{"reflect-client", NULL, "client of this route reflector"},
	{"check-first-as", NULL, "the peer's AS number must be first in AS paths"},
	{"valid-ttl-hops", NULL, "the peer is directly connected"},
	{"password", NULL, "TCP-MD5 key"},
	{"simple", NULL, "the key itself"},
	{"cipher", NULL, "the key itself"},
	{"connect-interface", NULL, "local address of the session"},
	{"ebgp-max-hop", NULL, "hops to the peer"},
	{"fake-as", NULL, "AS number of this router towards the peer"},
	{"timer", NULL, "timers of the session"},
	{"keepalive", NULL, "interval in seconds"},
	{"hold", NULL, "seconds without a message"},
	{"connect-retry", NULL, "interval in seconds"},
	{"route-update-interval", NULL, "least interval between announcements"},
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
	{"TEXT", NULL, "comment; in quotes when it has blanks"},
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
	{"keep-all-routes", NULL, "keep all routes as received"},
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
	{"route-refresh", NULL, "route refresh (RFC 2918); offered by default"},
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
