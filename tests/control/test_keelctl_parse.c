/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operator grammar: the command of each valid line, the message for each invalid line; help;
 * splitting.
 */
#include "control/cli/keelctl.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* Splits at blanks; the words live in a static buffer until the next call. */
static int
parse_in(unsigned view, const char *line, struct command *c, char error[640])
{
	static char text[1024];
	char *words[32], *save = NULL;
	unsigned n = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		words[n++] = w;
	error[0] = '\0';
	return command_parse(view, words, n, c, error, 640);
}

static int
parse(const char *line, struct command *c, char error[640])
{
	return parse_in(VIEW_USER, line, c, error);
}

static void
same(const char *line, const char *what, const char *is, const char *wanted)
{
	if ((is == NULL) != (wanted == NULL) || (is != NULL && strcmp(is, wanted) != 0))
		fail_msg("%s: %s is %s, not %s", line, what, is ? is : "absent",
			wanted ? wanted : "absent");
}

static void
same_scope(const char *line, const struct command *c, const char *scope)
{
	json_t *params = peers_params(c);

	same(line, "scope", json_string_value(json_object_get(params, "scope")), scope);
	json_decref(params);
}

static const struct refresh_case {
	const char *line, *family, *vrf, *scope, *peer, *group, *direction;
} refreshes[] = {
	{"refresh bgp all import", "ipv4-unicast", NULL, "all", NULL, NULL, "import"},
	{"refresh bgp all export", "ipv4-unicast", NULL, "all", NULL, NULL, "export"},
	{"refresh bgp external import", "ipv4-unicast", NULL, "external", NULL, NULL, "import"},
	{"refresh bgp internal export", "ipv4-unicast", NULL, "internal", NULL, NULL, "export"},
	{"refresh bgp 192.0.2.2 import", "ipv4-unicast", NULL, "peer", "192.0.2.2", NULL, "import"},
	{"refresh bgp fe80::2%east import", "ipv4-unicast", NULL, "peer", "fe80::2%east", NULL,
		"import"},
	{"refresh bgp group transit import", "ipv4-unicast", NULL, "group", NULL, "transit",
		"import"},
	{"refresh bgp ipv6 2001:db8::2 import", "ipv6-unicast", NULL, "peer", "2001:db8::2", NULL,
		"import"},
	{"refresh bgp ipv6 fe80::2%east export", "ipv6-unicast", NULL, "peer", "fe80::2%east", NULL,
		"export"},
	{"refresh bgp ipv6 group transit import", "ipv6-unicast", NULL, "group", NULL, "transit",
		"import"},
	{"refresh bgp ipv6 all export", "ipv6-unicast", NULL, "all", NULL, NULL, "export"},
	{"refresh bgp vpn-instance red ipv4-family external import", "ipv4-unicast", "red",
		"external", NULL, NULL, "import"},
	{"refresh bgp vpn-instance red ipv6-family group g export", "ipv6-unicast", "red", "group",
		NULL, "g", "export"},
	{"refresh bgp vpnv4 all import", "vpnv4-unicast", NULL, "all", NULL, NULL, "import"},
	{"refresh bgp vpnv6 internal import", "vpnv6-unicast", NULL, "internal", NULL, NULL,
		"import"},
	{"ref b a i", "ipv4-unicast", NULL, "all", NULL, NULL, "import"},
	{"ref b g transit e", "ipv4-unicast", NULL, "group", NULL, "transit", "export"},
	{"ref b vpn- red ipv4 e i", "ipv4-unicast", "red", "external", NULL, NULL, "import"},
};

static void
test_refresh(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	for (unsigned i = 0; i < sizeof(refreshes) / sizeof(refreshes[0]); i++) {
		const struct refresh_case *r = &refreshes[i];

		if (parse(r->line, &c, error) != 0)
			fail_msg("%s: %s", r->line, error);
		assert_ptr_equal(c.rule->run, refresh_command);
		same(r->line, "family", c.family, r->family);
		same(r->line, "vrf", arg(&c, "vrf"), r->vrf);
		same_scope(r->line, &c, r->scope);
		same(r->line, "peer", arg(&c, "peer"), r->peer);
		same(r->line, "group", arg(&c, "group"), r->group);
		same(r->line, "direction", keyword(&c, "import|export"), r->direction);
	}
}

static const struct reset_case {
	const char *line, *family, *vrf, *scope, *peer, *group;
	unsigned asn;
} resets[] = {
	{"reset bgp all", "ipv4-unicast", NULL, "all", NULL, NULL, 0},
	{"reset bgp 64513", "ipv4-unicast", NULL, "asn", NULL, NULL, 64513},
	{"reset bgp 4294967295", "ipv4-unicast", NULL, "asn", NULL, NULL, 4294967295u},
	{"reset bgp ipv6 1.10", "ipv6-unicast", NULL, "asn", NULL, NULL, 65546},
	{"reset bgp 192.0.2.2", "ipv4-unicast", NULL, "peer", "192.0.2.2", NULL, 0},
	{"reset bgp group transit", "ipv4-unicast", NULL, "group", NULL, "transit", 0},
	{"reset bgp ipv6 group transit", "ipv6-unicast", NULL, "group", NULL, "transit", 0},
	{"reset bgp ipv6 external", "ipv6-unicast", NULL, "external", NULL, NULL, 0},
	{"reset bgp ipv6 internal", "ipv6-unicast", NULL, "internal", NULL, NULL, 0},
	{"reset bgp ipv6 fe80::2%east", "ipv6-unicast", NULL, "peer", "fe80::2%east", NULL, 0},
	{"reset bgp ipv6 slow-peer", "ipv6-unicast", NULL, "slow-peer", NULL, NULL, 0},
	{"reset bgp ipv6 2001:db8::2 slow-peer", "ipv6-unicast", NULL, "slow-peer", "2001:db8::2",
		NULL, 0},
	{"reset bgp ipv4 slow-peer", "ipv4-unicast", NULL, "slow-peer", NULL, NULL, 0},
	{"reset bgp ipv4 192.0.2.2 slow-peer", "ipv4-unicast", NULL, "slow-peer", "192.0.2.2", NULL,
		0},
	{"reset bgp vpnv4 all", "vpnv4-unicast", NULL, "all", NULL, NULL, 0},
	{"reset bgp vpnv6 192.0.2.2 slow-peer", "vpnv6-unicast", NULL, "slow-peer", "192.0.2.2",
		NULL, 0},
	{"reset bgp vpn-instance red ipv6-family 7", "ipv6-unicast", "red", "asn", NULL, NULL, 7},
	{"res b a", "ipv4-unicast", NULL, "all", NULL, NULL, 0},
	{"res b ipv6 s", "ipv6-unicast", NULL, "slow-peer", NULL, NULL, 0},
};

static void
test_reset(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	for (unsigned i = 0; i < sizeof(resets) / sizeof(resets[0]); i++) {
		const struct reset_case *r = &resets[i];

		if (parse(r->line, &c, error) != 0)
			fail_msg("%s: %s", r->line, error);
		assert_ptr_equal(c.rule->run, reset_command);
		same(r->line, "family", c.family, r->family);
		same(r->line, "vrf", arg(&c, "vrf"), r->vrf);
		same_scope(r->line, &c, r->scope);
		same(r->line, "peer", arg(&c, "peer"), r->peer);
		same(r->line, "group", arg(&c, "group"), r->group);
		assert_int_equal(command_asn(&c), r->asn);
	}
}

static const struct show_case {
	const char *line;
	command_function *run; /* NULL: show_answer() */
	const char *method, *family, *prefix, *address, *peer, *rd;
	bool longer, advertised;
	const char *vrf;
} shows[] = {
	{.line = "show bgp summary", .run = show_bgp_summary},
	{.line = "display bgp summary", .run = show_bgp_summary},
	{.line = "disp b s", .run = show_bgp_summary},
	{.line = "display bgp peer", .run = show_bgp_summary},
	{.line = "display bgp ipv6 peer", .run = show_bgp_summary, .family = "ipv6-unicast"},
	{.line = "display bgp ipv6 peer 2001:db8::2 verbose",
		.run = show_bgp_peer,
		.family = "ipv6-unicast",
		.peer = "2001:db8::2"},
	{.line = "display bgp routing-table 10.0.0.0 8 longer-prefixes",
		.run = show_route,
		.family = "ipv4-unicast",
		.prefix = "10.0.0.0/8",
		.longer = true},
	{.line = "display bgp routing-table 10.0.0.0 255.128.0.0",
		.run = show_route,
		.family = "ipv4-unicast",
		.prefix = "10.0.0.0/9"},
	{.line = "display ipv6 routing-table 2001:db8:: 32",
		.run = show_route,
		.family = "ipv6-unicast",
		.prefix = "2001:db8::/32"},
	{.line = "display ip routing-table 10.0.0.1",
		.run = show_route,
		.family = "ipv4-unicast",
		.address = "10.0.0.1"},
	{.line = "display bgp routing-table peer 192.0.2.2 advertised-routes",
		.run = show_route,
		.family = "ipv4-unicast",
		.peer = "192.0.2.2",
		.advertised = true},
	{.line = "show bgp peer 192.0.2.2", .run = show_bgp_peer, .peer = "192.0.2.2"},
	{.line = "show route", .run = show_route, .family = "ipv4-unicast"},
	{.line = "show bgp vpn-instance red summary", .run = show_bgp_summary, .vrf = "red"},
	{.line = "display bgp vpn-instance red ipv6-family summary",
		.run = show_bgp_summary,
		.family = "ipv6-unicast",
		.vrf = "red"},
	{.line = "show bgp vpn-instance red peer 192.0.2.2",
		.run = show_bgp_peer,
		.peer = "192.0.2.2",
		.vrf = "red"},
	{.line = "disp b vpn-i red ipv4 p 192.0.2.2",
		.run = show_bgp_peer,
		.family = "ipv4-unicast",
		.peer = "192.0.2.2",
		.vrf = "red"},
	{.line = "show bgp vpn-instance red peer 192.0.2.2 faults",
		.method = "bgp.faults",
		.peer = "192.0.2.2",
		.vrf = "red"},
	{.line = "show route vpn-instance red",
		.run = show_route,
		.family = "ipv4-unicast",
		.vrf = "red"},
	{.line = "show route vpn-instance red ipv6-family peer 192.0.2.2 advertised",
		.run = show_route,
		.family = "ipv6-unicast",
		.peer = "192.0.2.2",
		.advertised = true,
		.vrf = "red"},
	{.line = "show route vpn-instance red 2001:db8::/32 longer",
		.run = show_route,
		.family = "ipv6-unicast",
		.prefix = "2001:db8::/32",
		.longer = true,
		.vrf = "red"},
	{.line = "display route vpn-instance red ipv4-family 192.0.2.7",
		.run = show_route,
		.family = "ipv4-unicast",
		.address = "192.0.2.7",
		.vrf = "red"},
	{.line = "show route 10.0.0.0/8",
		.run = show_route,
		.family = "ipv4-unicast",
		.prefix = "10.0.0.0/8"},
	{.line = "show route 10.0.0.0/8 longer",
		.run = show_route,
		.family = "ipv4-unicast",
		.prefix = "10.0.0.0/8",
		.longer = true},
	{.line = "show route 2001:db8::/32 lo p 2001:db8::2 adv",
		.run = show_route,
		.family = "ipv6-unicast",
		.prefix = "2001:db8::/32",
		.longer = true,
		.peer = "2001:db8::2",
		.advertised = true},
	{.line = "show route peer 192.0.2.2",
		.run = show_route,
		.family = "ipv4-unicast",
		.peer = "192.0.2.2"},
	{.line = "show route peer 192.0.2.2 advertised",
		.run = show_route,
		.family = "ipv4-unicast",
		.peer = "192.0.2.2",
		.advertised = true},
	/* The family follows from the prefix or the address. */
	{.line = "show route 2001:db8::/32",
		.run = show_route,
		.family = "ipv6-unicast",
		.prefix = "2001:db8::/32"},
	{.line = "show route peer fe80::2%east",
		.run = show_route,
		.family = "ipv6-unicast",
		.peer = "fe80::2%east"},
	{.line = "show route ipv4 peer 2001:db8::2",
		.run = show_route,
		.family = "ipv4-unicast",
		.peer = "2001:db8::2"},
	{.line = "show bgp peer 192.0.2.2 faults", .method = "bgp.faults", .peer = "192.0.2.2"},
	{.line = "show route ipv6", .run = show_route, .family = "ipv6-unicast"},
	{.line = "show route ipv4", .run = show_route, .family = "ipv4-unicast"},
	{.line = "show route ipv6 peer fe80::2%east advertised",
		.run = show_route,
		.family = "ipv6-unicast",
		.peer = "fe80::2%east",
		.advertised = true},
	{.line = "show route vpnv4", .run = show_route, .family = "vpnv4-unicast"},
	{.line = "show route vpnv6 2001:db8::/32 rd 192.0.2.1:7 longer",
		.run = show_route,
		.family = "vpnv6-unicast",
		.prefix = "2001:db8::/32",
		.rd = "192.0.2.1:7",
		.longer = true},
	{.line = "show route vpnv4 10.0.0.1 rd 0x0007010203040506",
		.run = show_route,
		.family = "vpnv4-unicast",
		.address = "10.0.0.1",
		.rd = "0x0007010203040506"},
	{.line = "show route ipv6 2001:db8::/32 longer",
		.run = show_route,
		.family = "ipv6-unicast",
		.prefix = "2001:db8::/32",
		.longer = true},
	{.line = "show route 2001:db8::7",
		.run = show_route,
		.family = "ipv6-unicast",
		.address = "2001:db8::7"},
	{.line = "show fib 2001:db8::7", .method = "fib.lookup", .address = "2001:db8::7"},
	{.line = "show dataplane neighbors", .method = "dataplane.neighbors"},
	{.line = "sh da n", .method = "dataplane.neighbors"},
	{.line = "show route 192.0.2.7",
		.run = show_route,
		.family = "ipv4-unicast",
		.address = "192.0.2.7"},
	{.line = "show fib", .method = "fib.stats"},
	{.line = "show fib stats", .method = "fib.stats"},
	{.line = "show fib 192.0.2.7", .method = "fib.lookup", .address = "192.0.2.7"},
	{.line = "show dataplane", .method = "dataplane.stats"},
	{.line = "show threads", .method = "control.stats"},
	{.line = "show version", .method = "system.info"},
	{.line = "show forwarder", .method = "system.info"},
	{.line = "show jobs", .method = "jobs.list"},
	{.line = "show rib", .method = "rib.summary"},
	{.line = "show configuration", .run = show_configuration},
	{.line = "sh conf cand", .run = show_configuration},
	{.line = "show configuration startup", .run = show_configuration},
};

static void
test_show(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	for (unsigned i = 0; i < sizeof(shows) / sizeof(shows[0]); i++) {
		const struct show_case *s = &shows[i];

		if (parse(s->line, &c, error) != 0)
			fail_msg("%s: %s", s->line, error);
		assert_ptr_equal(c.rule->run, s->run != NULL ? s->run : show_answer);
		same(s->line, "method", c.rule->method, s->method);
		same(s->line, "family", c.family, s->family);
		same(s->line, "prefix", arg(&c, "prefix"), s->prefix);
		same(s->line, "rd", arg(&c, "rd"), s->rd);
		same(s->line, "address", arg(&c, "address"), s->address);
		same(s->line, "peer", arg(&c, "peer"), s->peer);
		same(s->line, "vrf", arg(&c, "vrf"), s->vrf);
		assert_int_equal(keyword(&c, "longer|longer-prefixes") != NULL, s->longer);
		assert_int_equal(
			keyword(&c, "advertised|advertised-routes") != NULL, s->advertised);
	}
}

static void
test_rpc(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	assert_int_equal(parse("rpc system.info", &c, error), 0);
	assert_ptr_equal(c.rule->run, rpc_command);
	same("rpc", "method", arg(&c, "method"), "system.info");
	assert_null(arg(&c, "params"));
	assert_int_equal(parse("rpc jobs.get {\"id\":1}", &c, error), 0);
	same("rpc", "params", arg(&c, "params"), "{\"id\":1}");
}

static const struct {
	const char *line, *error;
} wrong[] = {
	{"foo", "word 1 \"foo\": expected rpc, show, display, trace, import, doctor, monitor, "
		"watch or 12 more"},
	{"re bgp all import", "word 1 \"re\" is ambiguous: refresh or reset"},
	{"s", "word 1 \"s\" is ambiguous: show or system-view"},
	{"rpc", "expected METHOD after \"rpc\""},
	{"rpc a {} b", "word 4 \"b\": nothing may follow here"},
	{"refresh", "expected bgp after \"refresh\""},
	{"refresh bgp", "expected ADDRESS, all, external, internal, group, ipv6, vpn-instance, "
			"vpnv4 or 1 more after \"refresh bgp\""},
	{"refresh bgp extenal import", "word 3 \"extenal\": expected external, ADDRESS, all, "
				       "internal, group, ipv6, vpn-instance, vpnv4 or 1 more"},
	{"refresh bgp 192.0.2.300 import",
		"word 3 \"192.0.2.300\": expected ADDRESS, all, external, internal, group, ipv6, "
		"vpn-instance, vpnv4 or 1 more"},
	{"refresh bgp vpn all import", "word 3 \"vpn\" is ambiguous: vpn-instance, vpnv4 or vpnv6"},
	{"refresh bgp i import", "word 3 \"i\" is ambiguous: internal or ipv6"},
	{"refresh bgp all", "expected import or export after \"refresh bgp all\""},
	{"refresh bgp all im out", "word 5 \"out\": expected wait"},
	{"refresh bgp group import", "word 4 \"import\": expected NAME"},
	{"refresh bgp group 9x import", "word 4 \"9x\": expected NAME"},
	{"refresh bgp vpn-instance red all import",
		"word 5 \"all\": expected ipv4-family or ipv6-family"},
	{"refresh bgp ipv6 vpnv4 all import",
		"word 4 \"vpnv4\": expected ADDRESS, all, external, internal or group"},
	{"show", "expected bgp, route, ip, ipv6, fib, configuration, dataplane, threads or 18 more "
		 "after \"show\""},
	{"show r", "word 2 \"r\" is ambiguous: route, rib, refresh or rpki"},
	{"show bgp", "expected summary, peer, ipv4, ipv6, vpnv4, vpnv6, vpn-instance or "
		     "routing-table after \"show bgp\""},
	{"show bgp peer x", "word 4 \"x\": expected ADDRESS"},
	{"show bgp summary x", "word 4 \"x\": nothing may follow here"},
	{"show route 10.0.0.0/33", "word 3 \"10.0.0.0/33\": expected ADDRESS, PREFIX, ipv4, ipv6, "
				   "vpnv4, vpnv6, vpn-instance, peer or 9 more"},
	{"show route 2001:db8::/129", "word 3 \"2001:db8::/129\": expected ADDRESS, PREFIX, ipv4, "
				      "ipv6, vpnv4, vpnv6, vpn-instance, peer or 9 more"},
	{"show route 192.0.2.1/24",
		"word 3 \"192.0.2.1/24\" has host bits (set beyond its length): expected "
		"192.0.2.0/24"},
	{"show route ipv4 10.255.0.0/9 longer",
		"word 4 \"10.255.0.0/9\" has host bits (set beyond its length): expected "
		"10.128.0.0/9"},
	{"show route 2001:db8::ff/121",
		"word 3 \"2001:db8::ff/121\" has host bits (set beyond its length): expected "
		"2001:db8::80/121"},
	{"display bgp routing-table 192.0.2.1 24",
		"word 4 \"192.0.2.1/24\" has host bits (set beyond its length): expected "
		"192.0.2.0/24"},
	{"display bgp routing-table 192.0.2.1 255.255.255.0 longer-prefixes",
		"word 4 \"192.0.2.1/24\" has host bits (set beyond its length): expected "
		"192.0.2.0/24"},
	{"display bgp routing-table 10.0.0.0 33", "word 4 \"10.0.0.0/33\" is not a prefix"},
	{"display bgp ipv6 routing-table 10.0.0.0 8",
		"word 5 \"10.0.0.0/8\" is not of ipv6-unicast"},
	{"show route 128.0.0.0/0",
		"word 3 \"128.0.0.0/0\" has host bits (set beyond its length): expected 0.0.0.0/0"},
	{"show route longer", "word 3 \"longer\": expected ADDRESS, PREFIX, ipv4, ipv6, vpnv4, "
			      "vpnv6, vpn-instance, peer or 9 more"},
	{"show route ip", "word 3 \"ip\" is ambiguous: ipv4 or ipv6"},
	{"show route ipv6 10.0.0.0/8", "word 4 \"10.0.0.0/8\" is not of ipv6-unicast"},
	{"show route ipv6 longer", "word 4 \"longer\": expected ADDRESS, PREFIX, peer, advertised, "
				   "received, rd, community, as-path or 4 more"},
	{"show dataplane x", "word 3 \"x\": expected neighbors"},
	{"reset", "expected bgp after \"reset\""},
	{"reset bgp", "expected ADDRESS, AS-NUMBER, all, external, internal, group, ipv6, "
		      "vpn-instance or 3 more after \"reset bgp\""},
	{"reset bgp 0", "word 3 \"0\": expected ADDRESS, AS-NUMBER, all, external, internal, "
			"group, ipv6, vpn-instance or 3 more"},
	{"reset bgp ipv6 4294967296", "word 4 \"4294967296\": expected ADDRESS, AS-NUMBER, all, "
				      "external, internal, group or slow-peer"},
	{"reset bgp ipv6 65536.1", "word 4 \"65536.1\": expected ADDRESS, AS-NUMBER, all, "
				   "external, internal, group or slow-peer"},
	{"reset bgp all slow-peer", "word 4 \"slow-peer\": nothing may follow here"},
	{"reset bgp 192.0.2.2 slow-peer", "word 4 \"slow-peer\": nothing may follow here"},
	{"reset bgp ipv4 all", "word 4 \"all\": expected ADDRESS or slow-peer"},
	{"reset bgp ipv4 192.0.2.2", "expected slow-peer after \"reset bgp ipv4 192.0.2.2\""},
	{"reset bgp ipv6 192.0.2.2 all", "word 5 \"all\": expected slow-peer"},
	{"show route 10.0.0.0/8 longer longer", "word 5 \"longer\" is repeated"},
	{"show route advertised", "\"advertised\" is only valid with \"peer ADDRESS\""},
	{"show route 10.0.0.1 peer 192.0.2.2",
		"\"10.0.0.1\": expected a prefix with its length, because other words follow"},
	{"show route 10.0.0.0/8 longer advertised x",
		"word 6 \"x\": expected peer, received, rd, community, as-path, best, detail, "
		"terse or 1 more"},
	{"show route 10.0.0.0/8 rd 64512:1", "\"rd\" is only valid with \"vpnv4\" and \"vpnv6\""},
	{"show route vpnv4 rd 64512", "word 5 \"64512\": expected RD"},
	{"show route vpnv4 2001:db8::/32", "word 4 \"2001:db8::/32\" is not of vpnv4-unicast"},
	{"show route vpnv4 10.0.0.1",
		"\"10.0.0.1\" is only valid with \"rd RD\": each route distinguisher has a longest "
		"match of its own"},
	{"show route received", "\"received\" is only valid with \"peer ADDRESS\""},
	{"show route peer 192.0.2.2 received advertised",
		"\"advertised\" and \"received\" exclude each other"},
	{"peer 192.0.2.2 enable", "word 1 \"peer\" belongs to the BGP view; here expected preview, "
				  "rpc, show, display, trace, import, doctor, monitor or 12 more"},
	{"disc", "word 1 \"disc\": expected display, doctor, discard, rpc, show, trace, import, "
		 "monitor or 12 more"},
	{"rollback -1", "word 2 \"-1\": expected ID"},
	{"commit confirm 86401", "word 3 \"86401\": expected SECONDS"},
	{"commit confirm 5 comment", "word 4 \"comment\": expected force or policy-files"},
	{"show route vpn-instance red rd 64512:1",
		"\"rd\" is only valid with \"vpnv4\" and \"vpnv6\""},
	{"show route vpn-instance red ipv4-family 2001:db8::/32",
		"word 6 \"2001:db8::/32\" is not of ipv4-unicast"},
	{"show route vpn-instance", "expected NAME after \"show route vpn-instance\""},
	{"show bgp vpn-instance red ipv4-family peer 192.0.2.2 faults",
		"word 8 \"faults\": expected verbose"},
	{"show route peer", "expected ADDRESS after \"show route peer\""},
	{"show fib x", "word 3 \"x\": expected ADDRESS or stats"},
	{"show configuration x", "word 3 \"x\": expected running, candidate or startup"},
	{"show version 1", "word 3 \"1\": nothing may follow here"},
};

static void
test_wrong(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (parse(wrong[i].line, &c, error) != -EINVAL)
			fail_msg("%s: taken", wrong[i].line);
		same(wrong[i].line, "message", error, wrong[i].error);
	}
}

static const struct {
	unsigned view;
	const char *line;
	command_function *run; /* NULL: edit_command() */
	edit_function *edit;
	bool undo;
	const char *peer, *group, *name, *direction, *family, *vrf;
	unsigned asn;
} configurations[] = {
	{.view = VIEW_USER, .line = "system-view", .run = enter_system},
	{.view = VIEW_SYSTEM, .line = "bgp 1.10", .run = enter_bgp, .asn = 65546},
	{.view = VIEW_BGP,
		.line = "peer 2001:db8::2 as-number 64513",
		.edit = set_asn,
		.peer = "2001:db8::2",
		.asn = 64513},
	{.view = VIEW_BGP,
		.line = "peer transit as-number 7",
		.edit = set_asn,
		.group = "transit",
		.asn = 7},
	{.view = VIEW_BGP,
		.line = "peer 192.0.2.2 group transit",
		.edit = set_group,
		.peer = "192.0.2.2",
		.name = "transit"},
	{.view = VIEW_BGP, .line = "peer transit cap r", .edit = set_setting, .group = "transit"},
	{.view = VIEW_BGP,
		.line = "undo peer 192.0.2.2 capability-advertise route-refresh",
		.edit = set_setting,
		.undo = true,
		.peer = "192.0.2.2"},
	{.view = VIEW_BGP,
		.line = "ipv4-family unicast",
		.run = enter_family,
		.family = "ipv4-unicast"},
	{.view = VIEW_BGP,
		.line = "ipv4-family vpnv4",
		.run = enter_family,
		.family = "vpnv4-unicast"},
	{.view = VIEW_FAMILY,
		.line = "ipv6-f vpn-instance red",
		.run = enter_family,
		.family = "ipv6-unicast",
		.vrf = "red"},
	{.view = VIEW_FAMILY,
		.line = "peer 192.0.2.2 keep-all-routes",
		.edit = set_setting,
		.peer = "192.0.2.2"},
	{.view = VIEW_VRF,
		.line = "undo peer 192.0.2.2 route-policy in import",
		.edit = set_policy,
		.undo = true,
		.peer = "192.0.2.2",
		.name = "in",
		.direction = "import"},
	{.view = VIEW_BGP, .line = "group g", .edit = edit_group, .name = "g"},
	{.view = VIEW_SYSTEM, .line = "ret", .run = view_return},
	{.view = VIEW_USER,
		.line = "preview refresh bgp ipv6 group g import",
		.run = preview_command,
		.group = "g",
		.direction = "import",
		.family = "ipv6-unicast"},
};

static void
test_views(void **state)
{
	char error[640];
	struct command c;

	(void)state;
	for (unsigned i = 0; i < sizeof(configurations) / sizeof(configurations[0]); i++) {
		const char *line = configurations[i].line;

		if (parse_in(configurations[i].view, line, &c, error) != 0)
			fail_msg("%s: %s", line, error);
		assert_ptr_equal(c.rule->run,
			configurations[i].run != NULL ? configurations[i].run : edit_command);
		assert_true(
			configurations[i].edit == NULL || c.rule->edit == configurations[i].edit);
		assert_int_equal(c.undo, configurations[i].undo);
		assert_int_equal(command_asn(&c), configurations[i].asn);
		same(line, "peer", arg(&c, "peer"), configurations[i].peer);
		same(line, "group", arg(&c, "group"), configurations[i].group);
		same(line, "name", arg(&c, "name"), configurations[i].name);
		same(line, "direction", keyword(&c, "import|export"), configurations[i].direction);
		same(line, "family", c.family, configurations[i].family);
		same(line, "vrf", arg(&c, "vrf"), configurations[i].vrf);
	}
	assert_int_equal(parse_in(VIEW_BGP, "peer 192.0.2.2 keep-all-routes", &c, error), -EINVAL);
	assert_int_equal(parse_in(VIEW_BGP, "refresh bgp all import", &c, error), -EINVAL);
	assert_int_equal(parse_in(VIEW_USER, "return", &c, error), -EINVAL);
	assert_int_equal(parse_in(VIEW_BGP, "undo peer 192.0.2.2 as-number", &c, error), -EINVAL);
}

/* The shortest unique abbreviation of a keyword has the same meaning as the whole word. */
static void
abbreviation_is_the_word(unsigned view, char **words, unsigned count,
	const struct command_choice *choice, unsigned n, unsigned which)
{
	/* must be written out */
	static const char *const whole_words[] = {"discard", "reload", "resolve", "doctor", "bmp",
		"candidates", "basic", "rt", "soo", "none", "additive", "overwrite", "delete"};
	struct command_choice whole[COMMAND_CHOICES_MAX], brief[COMMAND_CHOICES_MAX];
	char text[64], error[640];
	size_t len = 1;
	unsigned a, b;

	for (unsigned i = 0; i < n; i++) {
		while (i != which && choice[i].text != NULL && choice[i].name == NULL &&
			len < strlen(choice[which].text) &&
			strncmp(choice[i].text, choice[which].text, len) == 0)
			len++;
	}
	for (unsigned i = 0; i < sizeof(whole_words) / sizeof(whole_words[0]); i++) {
		if (strcmp(choice[which].text, whole_words[i]) == 0)
			return;
	}
	words[count] = (char *)(uintptr_t)choice[which].text;
	a = command_choices(view, words, count + 1, whole, error, sizeof(error));
	snprintf(text, sizeof(text), "%.*s", (int)len, choice[which].text);
	words[count] = text;
	b = command_choices(view, words, count + 1, brief, error, sizeof(error));
	assert_int_equal(a, b);
	for (unsigned i = 0; i < a; i++)
		assert_ptr_equal(whole[i].text, brief[i].text);
}

#define SHOW_WORDS_MAX 5

static bool
shows_routes(char *const *words)
{
	return (strcmp(words[0], "show") == 0 || strcmp(words[0], "display") == 0) &&
	       (strcmp(words[1], "route") == 0 || strcmp(words[1], "bgp") == 0);
}

/* Every keyword and value at every position has a line in the help of `?`. */
static void
help_below(unsigned view, char **words, unsigned count, unsigned *seen)
{
	static char *const samples[][2] = {{"ADDRESS", "192.0.2.2"}, {"AS-NUMBER", "64513"},
		{"GROUP", "transit"}, {"ID", "1"}, {"JSON", "{}"}, {"METHOD", "jobs.list"},
		{"NAME", "transit"}, {"PREFIX", "10.0.0.0/8"}, {"RD", "64512:1"}, {"SECONDS", "60"},
		{"TEXT", "why"}, {"LENGTH", "8"}, {"MASK", "255.0.0.0"}, {"COMMUNITY", "1:2"},
		{"REGEX", "_1_"}, {"NUMBER", "5"}, {"PATH", "/x"}, {"VALUE", "1"}};
	struct command_choice choice[COMMAND_CHOICES_MAX];
	char error[640], said[640];
	struct command c;
	unsigned n = command_choices(view, words, count, choice, error, sizeof(error));
	bool ends = false;

	assert_true(n > 0);
	for (unsigned i = 0; i < n; i++) {
		if (choice[i].text == NULL) {
			ends = true;
			continue;
		}
		if (strcmp(choice[i].text, "|") == 0)
			continue;
		if (*command_help(choice[i].after, choice[i].text) == '\0')
			fail_msg("no help for %s behind %s", choice[i].text,
				choice[i].after ? choice[i].after : "nothing");
		if (choice[i].name == NULL)
			abbreviation_is_the_word(view, words, count, choice, n, i);
		words[count] = (char *)(uintptr_t)choice[i].text;
		for (unsigned v = 0;
			choice[i].name != NULL && v < sizeof(samples) / sizeof(samples[0]); v++) {
			if (strcmp(samples[v][0], choice[i].text) == 0)
				words[count] = samples[v][1];
		}
		++*seen;
		/* the selectors of routes come in any order: too many for all orders */
		if (count < SHOW_WORDS_MAX || !shows_routes(words))
			help_below(view, words, count + 1, seen);
	}
	if (count > 0 && command_parse(view, words, count, &c, said, sizeof(said)) != 0)
		assert_true(!ends || strstr(said, "is only valid with") ||
			    strstr(said, "exclude") || strstr(said, "is not of") ||
			    strstr(said, "has host bits") ||
			    strstr(said, "because other words follow"));
	else if (count > 0)
		assert_true(ends);
}

static const struct policy_case {
	unsigned view;
	const char *line, *phrase, *texts; /* texts: the VALUES */
} policy_cases[] = {
	{VIEW_SYSTEM, "ip ip-prefix a index 5 permit 10.0.0.0 8 greater-equal 9 less-equal 24",
		"ip ip-prefix index permit greater-equal less-equal", "a 5 10.0.0.0/8 9 24"},
	{VIEW_POLICY, "ip ipv6-prefix a deny 2001:db8::/32", "ip ipv6-prefix deny",
		"a 2001:db8::/32"},
	{VIEW_SYSTEM, "ip as-path-filter a permit ^1_", "ip as-path-filter permit", "a ^1_"},
	{VIEW_SYSTEM, "ip community-filter basic a permit 1:1", "ip community-filter basic permit",
		"a 1:1"},
	{VIEW_SYSTEM, "undo ip ip-prefix a index 5", "ip ip-prefix index", "a 5"},
	{VIEW_SYSTEM, "undo ip extcommunity-filter a", "ip extcommunity-filter", "a"},
	{VIEW_SYSTEM, "route-policy a deny node 7", "route-policy deny node", "a 7"},
	{VIEW_POLICY, "undo route-policy a node 7", "route-policy node", "a 7"},
	{VIEW_POLICY, "if-match ip-prefix a b c", "if-match ip-prefix", "a b c"},
	{VIEW_POLICY, "if-match ip next-hop ip-prefix a", "if-match ip next-hop ip-prefix", "a"},
	{VIEW_POLICY, "if-match ipv6 address prefix-list a", "if-match ipv6 address prefix-list",
		"a"},
	{VIEW_POLICY, "if-match rpki origin-as-validation invalid",
		"if-match rpki origin-as-validation invalid", ""},
	{VIEW_POLICY, "undo if-match cost", "if-match cost", ""},
	{VIEW_POLICY, "undo if-match cost 5", "if-match cost", "5"},
	{VIEW_POLICY, "apply cost + 5", "apply cost +", "5"},
	{VIEW_POLICY, "apply local-preference - 5", "apply local-preference -", "5"},
	{VIEW_POLICY, "apply community 1:1 1:2 additive", "apply community additive", "1:1 1:2"},
	{VIEW_POLICY, "apply community none", "apply community none", ""},
	{VIEW_POLICY, "app large 1:1:1 delete", "apply large-community delete", "1:1:1"},
	{VIEW_POLICY, "apply as-path 7 7 7 additive", "apply as-path additive", "7 7 7"},
	{VIEW_POLICY, "apply ip-address next-hop 192.0.2.1", "apply ip-address next-hop",
		"192.0.2.1"},
	{VIEW_POLICY, "apply ipv6 next-hop self", "apply ipv6 next-hop self", ""},
	{VIEW_POLICY, "undo apply ip-address next-hop", "apply ip-address next-hop", ""},
	{VIEW_POLICY, "goto next-node", "goto next-node", ""},
	{VIEW_POLICY, "goto node 20", "goto node", "20"},
	{VIEW_POLICY, "undo goto", "goto", ""},
	{VIEW_POLICY, "call a", "call", "a"},
};

static void
test_policy_lines(void **state)
{
	struct command c;
	char error[640], texts[256];

	(void)state;
	for (size_t i = 0; i < sizeof(policy_cases) / sizeof(policy_cases[0]); i++) {
		const struct policy_case *p = &policy_cases[i];
		size_t at = 0;

		assert_int_equal(parse_in(p->view, p->line, &c, error), 0);
		same(p->line, "phrase", c.phrase, p->phrase);
		texts[0] = '\0';
		for (unsigned k = 0; arg_at(&c, k) != NULL; k++)
			at += (size_t)snprintf(texts + at, sizeof(texts) - at, "%s%s",
				k > 0 ? " " : "", arg_at(&c, k));
		same(p->line, "list", texts, p->texts);
		assert_int_equal(c.undo, strncmp(p->line, "undo ", 5) == 0);
	}
	assert_int_equal(parse_in(VIEW_SYSTEM, "if-match ip-prefix a", &c, error), -EINVAL);
	assert_non_null(strstr(error, "belongs to the view of a route policy"));
	assert_int_equal(parse_in(VIEW_POLICY, "if-match ip-prefix", &c, error), -EINVAL);
	assert_int_equal(parse_in(VIEW_POLICY, "apply community additive", &c, error), -EINVAL);
	assert_int_equal(parse_in(VIEW_POLICY, "apply as-path 7 none", &c, error), -EINVAL);
}

static void
test_help(void **state)
{
	static const unsigned views[] = {VIEW_USER, VIEW_SYSTEM, VIEW_BGP, VIEW_FAMILY, VIEW_VRF};
	char *words[COMMAND_WORDS_MAX + 1];
	unsigned seen = 0;

	(void)state;
	for (unsigned v = 0; v < 5; v++)
		help_below(views[v], words, 0, &seen);
	assert_true(seen > 500);
}

static void
test_split(void **state)
{
	char text[] = " show  bgp summary;commit comment \"a \\\"b\\\"; c\" confirm 5 # why\n\nrpc "
		      "x {\"a\": [1, \"}; {\"]};rpc 'y z'",
	     open[] = "commit comment \"x", json[] = "rpc x {\"a\":1", behind[] = "rpc x {}y",
	     *line = text, *words[COMMAND_WORDS_MAX], error[200];
	char many[3 * COMMAND_WORDS_MAX + 9];

	(void)state;
	assert_int_equal(command_split(&line, words, error, sizeof(error)), 3);
	assert_string_equal(words[2], "summary");
	assert_int_equal(command_split(&line, words, error, sizeof(error)), 5);
	assert_string_equal(words[2], "a \"b\"; c");
	assert_string_equal(words[4], "5");
	assert_int_equal(command_split(&line, words, error, sizeof(error)), 0);
	assert_int_equal(command_split(&line, words, error, sizeof(error)), 3);
	assert_string_equal(words[2], "{\"a\": [1, \"}; {\"]}");
	assert_int_equal(command_split(&line, words, error, sizeof(error)), 2);
	assert_string_equal(words[1], "y z");
	assert_null(line);
	line = open;
	assert_int_equal(command_split(&line, words, error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "word 3: a quote or a bracket is not closed");
	line = json;
	assert_int_equal(command_split(&line, words, error, sizeof(error)), -EINVAL);
	line = behind;
	assert_int_equal(command_split(&line, words, error, sizeof(error)), -EINVAL);
	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i <= COMMAND_WORDS_MAX; i++)
		memcpy(many + 2 * i, "x ", 2);
	line = many;
	assert_int_equal(command_split(&line, words, error, sizeof(error)), -E2BIG);
}

static void
test_line(void **state)
{
	char good[] = "show rib; refresh bgp all import", empty[] = " # nothing",
	     bad[] = "show rib; refresh bgp al", error[640];
	struct command c;

	(void)state;
	assert_int_equal(command_parse_line(VIEW_USER, good, &c, error, sizeof(error)), 0);
	assert_ptr_equal(c.rule->run, refresh_command);
	assert_int_equal(command_parse_line(VIEW_USER, empty, &c, error, sizeof(error)), -ENODATA);
	assert_int_equal(command_parse_line(VIEW_USER, bad, &c, error, sizeof(error)), -EINVAL);
}

/* An empty word does not abbreviate a keyword; a very long word is only cut in the message. */
static void
test_odd_words(void **state)
{
	char error[640], longest[2000];
	char rpc[] = "rpc", *words[40];
	struct command c;

	(void)state;
	words[0] = (char[]){""};
	assert_int_equal(command_parse(VIEW_USER, words, 1, &c, error, sizeof(error)), -EINVAL);
	assert_int_equal(command_parse(VIEW_USER, words, 0, &c, error, sizeof(error)), -EINVAL);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	words[0] = longest;
	assert_int_equal(command_parse(VIEW_USER, words, 1, &c, error, sizeof(error)), -EINVAL);
	words[0] = (char[]){"refresh"};
	words[1] = (char[]){"bgp"};
	words[2] = (char[]){"group"};
	words[3] = longest;
	assert_int_equal(command_parse(VIEW_USER, words, 4, &c, error, sizeof(error)), -EINVAL);
	longest[63] = '\0'; /* the maximum length of a name */
	assert_int_equal(command_parse(VIEW_USER, words, 4, &c, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "expected import or export"));
	for (unsigned i = 0; i < 40; i++)
		words[i] = rpc;
	assert_int_equal(command_parse(VIEW_USER, words, 40, &c, error, sizeof(error)), -EINVAL);
}

static void
test_same_address(void **state)
{
	(void)state;
	assert_true(text_same_address("2001:db8::2", "2001:DB8:0::2"));
	assert_true(text_same_address("fe80::2%east", "fe80:0::2%east"));
	assert_false(text_same_address("fe80::2%east", "fe80::2%west"));
	assert_false(text_same_address("192.0.2.1", "192.0.2.2"));
	assert_false(text_same_address("192.0.2.1", "::ffff:192.0.2.1"));
	assert_false(text_same_address("x", "x"));
	assert_false(text_is_address("192.0.2.1%east"));
	assert_false(text_is_address("fe80::1%"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_rpc),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_policy_lines),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_odd_words),
		cmocka_unit_test(test_same_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
