/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines that keelctl knows, as the documents write them, and a line of help for each word. */
#include "control/cli/keelctl_parse.h"

#include <string.h>

#define SHOW "{show | display} "
#define FAMILY "[ipv6 | vpn-instance NAME {ipv4-family | ipv6-family} | vpnv4 | vpnv6] "
#define REFRESH                                                                                    \
	"refresh bgp " FAMILY "{all | external | internal | group NAME | ADDRESS} {import | "      \
	"export}"
#define PEER "peer {ADDRESS | GROUP} "
#define VIEW_FAMILIES (VIEW_FAMILY | VIEW_VRF)

/* The order is that of messages and help. */
const struct command_rule command_rules[] = {
	{VIEW_ANY, COMMAND_RPC, "rpc METHOD [JSON]", false},
	{VIEW_ANY, COMMAND_SHOW_BGP_SUMMARY, SHOW "bgp summary", false},
	{VIEW_ANY, COMMAND_SHOW_BGP_PEER, SHOW "bgp peer ADDRESS", false},
	{VIEW_ANY, COMMAND_SHOW_BGP_FAULTS, SHOW "bgp peer ADDRESS faults", false},
	{VIEW_ANY, COMMAND_SHOW_ROUTE,
		SHOW "route [ipv4 | ipv6] {PREFIX | ADDRESS} <longer | peer ADDRESS | advertised | "
		     "received>",
		false},
	{VIEW_ANY, COMMAND_SHOW_ROUTE,
		SHOW "route [ipv4 | ipv6] <peer ADDRESS | advertised | received>", false},
	{VIEW_ANY, COMMAND_SHOW_FIB_STATS, SHOW "fib [stats]", false},
	{VIEW_ANY, COMMAND_SHOW_FIB_LOOKUP, SHOW "fib ADDRESS", false},
	{VIEW_ANY, COMMAND_SHOW_CONFIGURATION, SHOW "configuration [running | candidate | startup]",
		false},
	{VIEW_ANY, COMMAND_SHOW_DATAPLANE, SHOW "dataplane", false},
	{VIEW_ANY, COMMAND_SHOW_NEIGHBORS, SHOW "dataplane neighbors", false},
	{VIEW_ANY, COMMAND_SHOW_THREADS, SHOW "threads", false},
	{VIEW_ANY, COMMAND_SHOW_VERSION, SHOW "version", false},
	{VIEW_ANY, COMMAND_SHOW_JOBS, SHOW "jobs", false},
	{VIEW_ANY, COMMAND_SHOW_RIB, SHOW "rib", false},
	{VIEW_ANY, COMMAND_SHOW_POLICY, SHOW "policy [NAME]", false},
	{VIEW_ANY, COMMAND_SHOW_REFRESH, SHOW "refresh", false},
	{VIEW_ANY, COMMAND_SHOW_HISTORY, SHOW "history", false},
	{VIEW_ANY, COMMAND_SHOW_DIFF, SHOW "diff", false},
	{VIEW_ANY, COMMAND_SHOW_CONFIGURATION, SHOW "candidate", false},
	{VIEW_USER, COMMAND_REFRESH, REFRESH, false},
	{VIEW_USER, COMMAND_RESET,
		"reset bgp " FAMILY
		"{all | external | internal | group NAME | ADDRESS | AS-NUMBER}",
		false},
	{VIEW_USER, COMMAND_RESET, "reset bgp {vpnv4 | vpnv6 | ipv4 | ipv6} [ADDRESS] slow-peer",
		false},
	{VIEW_USER, COMMAND_SYSTEM_VIEW, "system-view", false},
	{VIEW_SYSTEM, COMMAND_BGP_VIEW, "bgp AS-NUMBER", true},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_AS_NUMBER, PEER "as-number AS-NUMBER", true},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_GROUP, PEER "group NAME", true},
	{VIEW_BGP | VIEW_VRF, COMMAND_PEER_ROUTE_REFRESH, PEER "capability-advertise route-refresh",
		true},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_PEER_ENABLE, PEER "enable", true},
	{VIEW_FAMILIES, COMMAND_PEER_KEEP_ALL_ROUTES, PEER "keep-all-routes", true},
	{VIEW_FAMILIES, COMMAND_PEER_ROUTE_POLICY, PEER "route-policy NAME {import | export}",
		true},
	{VIEW_BGP, COMMAND_GROUP, "group NAME", true},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_FAMILY_VIEW,
		"ipv4-family {unicast | vpnv4 | vpn-instance NAME}", false},
	{VIEW_BGP | VIEW_FAMILIES, COMMAND_FAMILY_VIEW,
		"ipv6-family {unicast | vpnv6 | vpn-instance NAME}", false},
	{VIEW_ANY, COMMAND_PREVIEW, "preview", false},
	{VIEW_ANY, COMMAND_PREVIEW_REFRESH, "preview " REFRESH, false},
	{VIEW_ANY, COMMAND_COMMIT, "commit [comment TEXT] [confirm SECONDS]", false},
	{VIEW_ANY, COMMAND_CONFIRM, "confirm", false},
	{VIEW_ANY, COMMAND_ROLLBACK, "rollback ID", false},
	{VIEW_ANY, COMMAND_DISCARD, "discard!", false}, /* "dis" is display to many fingers */
	{VIEW_ANY, COMMAND_QUIT, "quit", false},
	{VIEW_CONFIG, COMMAND_RETURN, "return", false},
	{VIEW_ANY, COMMAND_HELP, "help", false},
};
const unsigned command_rule_count = sizeof(command_rules) / sizeof(command_rules[0]);

/* Of entries for one word the first whose `after` fits; NULL fits everywhere, "" at the beginning of a line. */
static const struct {
	const char *word, *after, *help;
} helps[] = {
	{"ADDRESS", "route", "the longest match of this IPv4 or IPv6 address"},
	{"ADDRESS", "fib", "where the workers send a packet to it"},
	{"ADDRESS", NULL, "a peer's IPv4 or IPv6 address; link-local as fe80::2%port"},
	{"AS-NUMBER", NULL, "1 to 4294967295, plain or dotted"},
	{"GROUP", NULL, "a peer group"},
	{"ID", NULL, "number of a commit, as show history has it"},
	{"JSON", NULL, "parameters, a JSON object; \"-\": on standard input"},
	{"METHOD", NULL, "name of a JSON-RPC method"},
	{"NAME", "group", "a peer group"},
	{"NAME", "vpn-instance", "a VPN instance"},
	{"NAME", NULL, "a route policy"},
	{"PREFIX", NULL, "address and length"},
	{"SECONDS", NULL, "1 to 86400"},
	{"TEXT", NULL, "why; in quotes when it has blanks"},
	{"advertised", NULL, "what was sent to the peer"},
	{"all", NULL, "every session with the family"},
	{"as-number", NULL, "the peer's AS; a peer that is not there yet is made"},
	{"bgp", "", "enter the BGP view"},
	{"bgp", "undo", "remove the whole BGP configuration"},
	{"bgp", NULL, "BGP sessions"},
	{"candidate", NULL, "the document that is being edited"},
	{"capability-advertise", NULL, "what OPEN offers"},
	{"comment", NULL, "a word about why, for the history"},
	{"commit", NULL, "make the candidate the running configuration"},
	{"configuration", NULL, "the configuration document"},
	{"confirm", "", "keep a commit that waits for it"},
	{"confirm", NULL, "roll back by itself unless confirmed in time"},
	{"dataplane", NULL, "ports and workers"},
	{"diff", NULL, "what commit would change in the document"},
	{"discard", NULL, "forget all edits that are not committed (in full)"},
	{"display", NULL, "the same as show"},
	{"enable", NULL, "exchange this family with the peer"},
	{"export", NULL, "outbound"},
	{"external", NULL, "EBGP sessions"},
	{"faults", NULL, "the last faulty messages of the peer"},
	{"fib", NULL, "the forwarding tables"},
	{"group", "", "make a peer group"},
	{"group", "undo", "remove a peer group"},
	{"group", NULL, "the members of a group"},
	{"help", NULL, "the commands of this view"},
	{"history", NULL, "commits"},
	{"import", NULL, "inbound"},
	{"internal", NULL, "IBGP sessions"},
	{"ipv4", NULL, "IPv4 unicast"},
	{"ipv4-family", NULL, "an IPv4 family"},
	{"ipv6", NULL, "IPv6 unicast"},
	{"ipv6-family", NULL, "an IPv6 family"},
	{"jobs", NULL, "what runs and what ran"},
	{"keep-all-routes", NULL, "keep what policy rejects, for soft reset without route refresh"},
	{"longer", NULL, "more specific prefixes, too"},
	{"neighbors", NULL, "who is on the links"},
	{"peer", "bgp", "one session in full"},
	{"peer", "route", "of one peer"},
	{"peer", NULL, "a peer or a group"},
	{"policy", NULL, "route policies, node by node"},
	{"preview", NULL, "what commit, or a refresh, would change"},
	{"quit", NULL, "leave this view; from the user view, keelctl"},
	{"received", NULL, "as the peer sent it, before the import policy"},
	{"refresh", "show", "counters of refreshes, and their jobs"},
	{"refresh", "display", "counters of refreshes, and their jobs"},
	{"refresh", NULL, "soft reset: apply policies without losing a session"},
	{"reset", NULL, "end sessions; they come up anew"},
	{"return", NULL, "back to the user view"},
	{"rib", NULL, "size of the tables"},
	{"rollback", NULL, "go back to an earlier commit"},
	{"route", NULL, "routes: best and others; of a peer; sent to a peer"},
	{"route-policy", NULL, "the policy in one direction"},
	{"route-refresh", NULL, "RFC 2918; on by default"},
	{"rpc", NULL, "any method of the daemon"},
	{"running", NULL, "what is in force"},
	{"show", NULL, "what there is"},
	{"slow-peer", NULL, "only what is flagged slow now"},
	{"startup", NULL, "the file on disk"},
	{"stats", NULL, "sizes, generation, times"},
	{"summary", NULL, "sessions, one line a peer and family"},
	{"system-view", NULL, "enter the system view, to configure"},
	{"threads", NULL, "what the control threads take, and how long at once"},
	{"undo", NULL, "take back a line of this view"},
	{"unicast", NULL, "of the default VRF"},
	{"version", NULL, "the daemon and its alarms"},
	{"vpn-instance", NULL, "a VPN instance's family"},
	{"vpnv4", NULL, "VPN-IPv4"},
	{"vpnv6", NULL, "VPN-IPv6"},
};

const char *
command_help(const char *after, const char *word)
{
	for (unsigned i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
		if (strcmp(helps[i].word, word) == 0 &&
			(helps[i].after == NULL ||
				strcmp(helps[i].after, after != NULL ? after : "") == 0))
			return helps[i].help;
	}
	return "";
}
