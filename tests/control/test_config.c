/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/config.h"
#include "control/config/policy_compile.h"
#include "control/config/vrf_names.h"
#include "tests/control/config_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- documents ---- */

#define ROUTER "'router': {'asn': 64512, 'router_id': '192.0.2.1'}"
#define EAST                                                                                       \
	ROUTER ", 'ports': [{'name': 'east', 'device': 'net_null0'}, {'name': 'b', 'device': "     \
	       "'net_null1'}]"
#define PEER(keys)                                                                                 \
	"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 64513, " keys "}]}}"

#define VRFS(keys) "{" ROUTER ", 'vrfs': [{'name': 'red', " keys "}]}"
#define IN_RED(keys) "{" ROUTER ", 'vrfs': [{'name': 'red'}], 'bgp': {" keys "}}"

static const struct config_host *host; /* NULL: with a data plane */

static struct config *
parsed(const char *text)
{
	struct faults f = {0};
	json_t *document = document_of(text);
	struct config *c = config_parse(host, document, &f);

	print_faults(&f);
	assert_non_null(c);
	assert_int_equal(f.count, 0);
	json_decref(document);
	return c;
}

static void
assert_only_fault(const char *text, const char *path, const char *part)
{
	struct faults f = {0};
	json_t *document = document_of(text);

	assert_null(config_parse(host, document, &f));
	assert_fault(&f, path, part);
	if (f.count != 1) {
		print_faults(&f);
		fail_msg("one fault wanted in %s", text);
	}
	faults_fini(&f);
	json_decref(document);
}

/* A document with most sections. */
static const char example[] =
	"{" ROUTER ","
	" 'description': 'an example',"
	" 'dataplane': {'worker_cpus': [1], 'control_cpus': [0], 'rib_threads': 1, 'memory_mb': "
	"1024, 'eal_args': ['--no-huge']},"
	" 'management': {'socket': '/run/keel/keel.sock'},"
	" 'vrfs': [{'name': 'default'}],"
	" 'ports': [{'name': 'east', 'device': 'net_af_xdp0,iface=veth-e', 'vrf': 'default', "
	"'mtu': 1400, 'addresses': ['192.0.2.1/24']},"
	"           {'name': 'west', 'device': '0000:01:00.0'}],"
	" 'static_routes': [],"
	" 'prefix_lists': [{'name': 'bogons', 'entries': [{'action': 'permit', 'prefix': "
	"'10.0.0.0/8', 'ge': 8, 'le': 32}]}],"
	" 'as_path_lists': [{'name': 'short', 'entries': [{'action': 'permit', 'regex': "
	"'^64513_'}]}],"
	" 'community_lists': [{'name': 'cust', 'entries': [{'action': 'permit', 'community': "
	"'64512:100'}]}],"
	" 'route_policies': [{'name': 'from-transit', 'nodes': ["
	"   {'seq': 10, 'action': 'deny', 'match': {'prefix_list': 'bogons'}},"
	"   {'seq': 20, 'action': 'permit', 'match': {}, 'set': {'local_pref': 120, 'communities': "
	"{'add': ['64512:7']}, 'as_path_prepend': {'asn': 64512, 'count': 2}}}]}],"
	" 'bgp': {'networks': [{'prefix': '198.51.100.0/24', 'vrf': 'default'}],"
	"   'policy_change_delay_s': 0, 'policy_change_max_delay_s': 30,"
	"   'groups': [{'name': 'transit', 'families': {'ipv4-unicast': {'import_policy': "
	"'from-transit'}}}],"
	"   'peers': [{'address': '192.0.2.2', 'asn': 64513, 'group': 'transit', 'vrf': 'default', "
	"'passive': false,"
	"     'capabilities': {'route_refresh': true, 'enhanced_route_refresh': true},"
	"     'families': {'ipv4-unicast': {'import_policy': 'from-transit', 'export_policy': "
	"'accept-all', 'keep_all_routes': false}}}]}}";

static void
test_example(void **state)
{
	struct config *c = parsed(example);
	const struct config_peer *p = &c->peers[0];

	(void)state;
	assert_int_equal(c->asn, 64512);
	assert_int_equal(c->router_id, 0xc0000201);
	assert_true(c->dataplane.present);
	assert_int_equal(c->dataplane.worker_count, 1);
	assert_int_equal(c->dataplane.worker_cpus[0], 1);
	assert_int_equal(c->dataplane.control_cpus[0], 0);
	assert_int_equal(c->dataplane.eal_arg_count, 1);
	assert_string_equal(c->dataplane.eal_args[0], "--no-huge");
	assert_string_equal(c->socket, "/run/keel/keel.sock");
	assert_int_equal(c->port_count, 2);
	assert_string_equal(c->ports[0].device, "net_af_xdp0,iface=veth-e");
	assert_int_equal(c->ports[0].mtu, 1400);
	assert_int_equal(c->ports[1].mtu, 0); /* the interface's own MTU */
	assert_int_equal(c->ports[0].address_count, 1);
	assert_int_equal(addr_v4(&c->ports[0].addresses[0].addr), 0xc0000201);
	assert_int_equal(c->ports[0].addresses[0].len, 24);
	assert_int_equal(c->network_count, 1);
	assert_int_equal(prefix_v4(&c->networks[0].prefix), 0xc6336400);
	assert_int_equal(c->peer_count, 1);
	assert_string_equal(p->addr_text, "192.0.2.2");
	assert_true(p->external);
	assert_string_equal(p->group, "transit");
	assert_string_equal(p->families[FAMILY_IPV4_UNICAST].import_policy, "from-transit");
	assert_string_equal(p->families[FAMILY_IPV4_UNICAST].export_policy, "accept-all");
	assert_non_null(policy_set_find(c->policies, "from-transit"));
	assert_ptr_equal(config_peer_find(c, VRF_DEFAULT, &p->addr), p);
	struct ip_addr other = addr_from_v4(1);
	assert_null(config_peer_find(c, VRF_DEFAULT, &other));
	config_free(c);
}

static void
test_defaults(void **state)
{
	struct config *c = parsed(PEER("'passive': false"));
	const struct config_peer *p = &c->peers[0];

	(void)state;
	assert_false(c->dataplane.present);
	assert_int_equal(c->dataplane.rib_threads, 1);
	assert_int_equal(c->dataplane.memory_mb, 1024);
	assert_null(c->socket);
	assert_true(c->next_hop_tracking);
	assert_int_equal(c->policy_change_delay_s, 0);
	assert_int_equal(c->policy_change_max_delay_s, 30);
	assert_int_equal(p->tcp_port, 179);
	assert_string_equal(p->vrf_name, "default");
	assert_int_equal(p->source.afi, AFI_NONE);
	assert_int_equal(p->multihop, 0);
	assert_int_equal(p->local_as, 64512);
	assert_false(p->shutdown);
	assert_true(p->capabilities.route_refresh && p->capabilities.enhanced_route_refresh &&
		    p->capabilities.four_octet_as && p->capabilities.extended_message &&
		    p->capabilities.graceful_restart);
	assert_int_equal(p->timers.hold_s, 90);
	assert_int_equal(p->timers.keepalive_s, 0);
	assert_int_equal(p->timers.connect_retry_s, 10);
	assert_int_equal(p->timers.idle_hold_s, 1);
	assert_int_equal(p->timers.open_sent_hold_s, 240);
	assert_int_equal(p->timers.send_hold_s, 0);
	assert_int_equal(p->timers.min_advertisement_s, 0);
	assert_int_equal(p->timers.stale_refresh_s, 600);
	/* absent: the family of the peer's address */
	assert_true(p->families[FAMILY_IPV4_UNICAST].enabled);
	assert_true(p->families[FAMILY_IPV4_UNICAST].send_communities);
	assert_null(p->families[FAMILY_IPV4_UNICAST].import_policy);
	assert_false(p->families[FAMILY_IPV6_UNICAST].enabled);
	config_free(c);
	/* present and empty: no family; a family is enabled by its presence */
	c = parsed(PEER("'families': {}"));
	assert_false(c->peers[0].families[FAMILY_IPV4_UNICAST].enabled);
	config_free(c);
	c = parsed(PEER("'families': {'ipv4-unicast': {}}"));
	assert_true(c->peers[0].families[FAMILY_IPV4_UNICAST].enabled);
	config_free(c);
}

/* Both families over either kind of session; a link-local peer is identified by its port, too. */
static void
test_ipv6(void **state)
{
	struct config *c = parsed(
		"{'bgp': {'networks': [{'prefix': '2001:db8:1::/48'}, {'prefix': '10.0.0.0/8'}],"
		"  'groups': [{'name': 'v6', 'asn': 64513, 'families': {'ipv6-unicast': "
		"{'export_policy': 'accept-all'}}}],"
		"  'peers': [{'address': '2001:DB8::2', 'asn': 64513, 'source': '2001:db8::1'},"
		"   {'address': 'fe80::2%east', 'group': 'v6'},"
		"   {'address': 'fe80::2%b', 'group': 'v6', 'source': 'fe80::1%b', 'capabilities': "
		"{'extended_next_hop': true}, 'families': {'ipv4-unicast': {}}},"
		"   {'address': '192.0.2.2', 'asn': 64513, 'families': {'ipv4-unicast': {}, "
		"'ipv6-unicast': {'import_policy': 'accept-all'}}}]}, " ROUTER
		", 'ports': [{'name': 'east', 'device': 'net_null0', 'addresses': ['fe80::1/64', "
		"'2001:db8::1/64']}, {'name': 'b', 'device': 'net_null1'}]}");
	const struct config_peer *p = c->peers;
	struct ip_addr addr;

	(void)state;
	assert_int_equal(c->peer_count, 4);
	assert_string_equal(p[0].addr_text, "2001:db8::2");
	assert_int_equal(p[0].source.afi, AFI_IPV6);
	assert_true(p[0].families[FAMILY_IPV6_UNICAST].enabled);
	assert_false(p[0].families[FAMILY_IPV4_UNICAST].enabled);
	assert_false(p[0].capabilities.extended_next_hop);
	assert_string_equal(p[1].addr_text, "fe80::2%east");
	assert_int_equal(p[1].addr.zone, zone_find("east"));
	assert_true(p[1].addr.zone != 0 && p[1].addr.zone != p[2].addr.zone);
	assert_true(p[1].families[FAMILY_IPV6_UNICAST].enabled);
	assert_string_equal(p[1].families[FAMILY_IPV6_UNICAST].export_policy, "accept-all");
	assert_false(p[1].families[FAMILY_IPV4_UNICAST].enabled);
	/* inherited and own keys combined */
	assert_true(p[2].capabilities.extended_next_hop);
	assert_true(p[2].families[FAMILY_IPV6_UNICAST].enabled);
	assert_true(p[2].families[FAMILY_IPV4_UNICAST].enabled);
	assert_true(p[3].families[FAMILY_IPV4_UNICAST].enabled);
	assert_true(p[3].families[FAMILY_IPV6_UNICAST].send_communities);
	assert_int_equal(addr_parse("fe80::2%b", &addr), 0);
	assert_ptr_equal(config_peer_find(c, VRF_DEFAULT, &addr), &p[2]);
	assert_int_equal(c->networks[0].prefix.afi, AFI_IPV6);
	assert_int_equal(c->networks[0].prefix.len, 48);
	assert_int_equal(c->ports[0].address_count, 2);
	assert_int_equal(c->ports[0].addresses[0].addr.afi, AFI_IPV6);
	assert_int_equal(c->ports[0].addresses[0].addr.zone, 0);
	config_free(c);
}

/* Keys of the IPv6 release: every value reaches the C view. */
static void
test_further_keys(void **state)
{
	struct config *c = parsed(
		"{" EAST
		", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9', 'tag': "
		"7}, {'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.10', 'vrf': 'default'},"
		"   {'prefix': '2001:db8::/32', 'next_hop': 'fe80::1%b'}, {'prefix': '0.0.0.0/0', "
		"'blackhole': true}, {'prefix': '11.0.0.0/8', 'next_hop': '2001:db8::1'}],"
		" 'loopback_addresses': ['192.0.2.1/32', '2001:db8::1/128'],"
		" 'preference': {'kernel': 5, 'external': 6},"
		" 'bgp': {'max_paths': 64, 'tombstones_max': 100000, 'cluster_id': '192.0.2.7', "
		"'resolve_via_default': true,"
		"  'redistribute': [{'source': 'kernel', 'policy': 'accept-all'}, {'source': "
		"'connected', 'vrf': 'default'}, {'source': 'static'}],"
		"  'peers': [{'address': '192.0.2.2', 'asn': 64513, 'local_as': 1, 'families': "
		"{'ipv4-unicast': {'max_prefixes': {'limit': 9, 'action': 'warning'}, "
		"'remove_private_as': true, 'as_override': true, 'allow_as_in': 3}, "
		"'ipv6-unicast': "
		"{'max_prefixes': {'limit': 10}, 'default_originate': true}}},"
		"   {'address': '192.0.2.3', 'asn': 64512, 'route_reflector_client': true}]}}");
	const struct config_family *v4 = &c->peers[0].families[FAMILY_IPV4_UNICAST],
				   *v6 = &c->peers[0].families[FAMILY_IPV6_UNICAST];

	(void)state;
	assert_int_equal(c->static_count, 5);
	assert_int_equal(c->statics[0].tag, 7);
	assert_int_equal(addr_v4(&c->statics[1].next_hop), 0xc000020a);
	assert_int_equal(c->statics[2].next_hop.zone, zone_find("b"));
	assert_int_equal(c->statics[3].next_hop.afi, AFI_NONE);
	assert_int_equal(c->statics[4].next_hop.afi, AFI_IPV6);
	assert_int_equal(c->loopback_count, 2);
	assert_int_equal(c->loopbacks[1].len, 128);
	assert_int_equal(c->preference[SOURCE_KERNEL], 5);
	assert_int_equal(c->preference[SOURCE_EXTERNAL], 6);
	assert_int_equal(c->preference[SOURCE_STATIC], 1);
	assert_int_equal(c->preference[SOURCE_INTERNAL], 200);
	assert_int_equal(c->max_paths, 64);
	assert_int_equal(c->tombstones_max, 100000);
	assert_int_equal(c->cluster_id, 0xc0000207);
	assert_true(c->resolve_via_default);
	assert_int_equal(c->redistribute_count, 3);
	assert_int_equal(c->redistribute[0].source, SOURCE_KERNEL);
	assert_string_equal(c->redistribute[0].policy, "accept-all");
	assert_int_equal(c->redistribute[1].source, SOURCE_CONNECTED);
	assert_null(c->redistribute[1].policy);
	assert_int_equal(c->redistribute[2].source, SOURCE_STATIC);
	assert_int_equal(c->peers[0].local_as, 1);
	assert_int_equal(c->peers[1].local_as, 64512);
	assert_true(c->peers[1].route_reflector_client);
	assert_false(c->peers[0].route_reflector_client);
	assert_int_equal(v4->max_prefixes, 9);
	assert_int_equal(v4->max_prefixes_action, MAX_PREFIXES_WARNING);
	assert_true(v4->remove_private_as && v4->as_override);
	assert_false(v4->default_originate);
	assert_int_equal(v4->allow_as_in, 3);
	assert_int_equal(v6->max_prefixes, 10);
	assert_int_equal(v6->max_prefixes_action, MAX_PREFIXES_SHUTDOWN);
	assert_int_equal(v6->max_prefixes_threshold, 80);
	assert_int_equal(v6->max_prefixes_restart_s, 0);
	assert_true(c->peers[0].enforce_first_as);
	assert_int_equal(c->peers[0].max_as_path_length, 254);
	assert_true(v6->default_originate);
	assert_false(v6->remove_private_as);
	config_free(c);
	c = parsed("{" ROUTER ", 'bgp': {'cluster_id': 3221225991, 'preference': {'static': 9}}}");
	assert_int_equal(c->cluster_id, 0xc0000207);
	assert_int_equal(c->preference[SOURCE_STATIC], 9);
	assert_int_equal(c->max_paths, 1);
	assert_int_equal(c->tombstones_max, 0);
	config_free(c);
}

static void
test_any_interface_without_dataplane(void **state)
{
	static const struct config_host without = {.no_dataplane = true};
	struct config *c;

	(void)state;
	host = &without;
	c = parsed("{" ROUTER ", 'bgp': {'peers': [{'address': 'fe80::2%eth7', 'asn': 1}]}}");
	assert_string_equal(c->peers[0].addr_text, "fe80::2%eth7");
	config_free(c);
	assert_only_fault(
		"{" ROUTER
		", 'bgp': {'peers': [{'address': 'fe80::2%sixteencharacter', 'asn': 1}]}}",
		"/bgp/peers/0/address",
		"names \"sixteencharacter\", which can't be the name of a network interface");
	assert_only_fault("{" ROUTER ", 'bgp': {'peers': [{'address': 'fe80::2', 'asn': 1}]}}",
		"/bgp/peers/0/address", "needs the port on which it is reached");
	host = NULL;
}

/* Objects are merged key by key, other values replaced; peer over group over default. */
static void
test_inheritance(void **state)
{
	struct config *c = parsed(
		"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 64512, 'passive': true, "
		"'multihop': 5, 'description': 'of the group',"
		"   'timers': {'hold_s': 30, 'connect_retry_s': 3}, 'capabilities': "
		"{'route_refresh': false},"
		"   'families': {'ipv4-unicast': {'import_policy': 'deny-all', 'next_hop_self': "
		"true}}}, {'name': 'off', 'families': {'ipv4-unicast': {'enabled': false}}}],"
		" 'peers': [{'address': '192.0.2.2', 'group': 'g'},"
		"  {'address': '192.0.2.3', 'group': 'g', 'asn': 7, 'passive': false, "
		"'description': 'my own', 'timers': {'hold_s': 60},"
		"   'families': {'ipv4-unicast': {'import_policy': 'accept-all'}}},"
		"  {'address': '192.0.2.4', 'group': 'off', 'asn': 1},"
		"  {'address': '192.0.2.5', 'group': 'g', 'families': {'ipv4-unicast': {'enabled': "
		"false}}}]}}");
	const struct config_peer *p = c->peers;

	(void)state;
	assert_int_equal(p[0].asn, 64512);
	assert_false(p[0].external);
	assert_true(p[0].passive);
	assert_int_equal(p[0].multihop, 5);
	assert_string_equal(p[0].description, "of the group");
	assert_int_equal(p[0].timers.hold_s, 30);
	assert_false(p[0].capabilities.route_refresh);
	assert_true(p[0].capabilities.enhanced_route_refresh);
	assert_string_equal(p[0].families[FAMILY_IPV4_UNICAST].import_policy, "deny-all");

	assert_int_equal(p[1].asn, 7);
	assert_true(p[1].external);
	assert_false(p[1].passive);
	assert_string_equal(p[1].description, "my own");
	assert_int_equal(p[1].timers.hold_s, 60);
	assert_int_equal(p[1].timers.connect_retry_s, 3);
	assert_string_equal(p[1].families[FAMILY_IPV4_UNICAST].import_policy, "accept-all");
	assert_true(p[1].families[FAMILY_IPV4_UNICAST].next_hop_self);

	assert_false(p[2].families[FAMILY_IPV4_UNICAST].enabled);
	assert_true(p[0].families[FAMILY_IPV4_UNICAST].enabled);
	assert_false(p[3].families[FAMILY_IPV4_UNICAST].enabled);
	assert_string_equal(p[3].families[FAMILY_IPV4_UNICAST].import_policy, "deny-all");
	config_free(c);
}

static const struct {
	const char *document, *path, *part;
} faulty[] = {
	{"[]", "", "an array is not an object"},
	{"{}", "/router/router_id", "is missing"},
	{"{'router': {'asn': 1}}", "/router/router_id", "is missing"},
	{"{'router': {'asn': 1, 'router_id': '::1'}}", "/router/router_id",
		"\"::1\" is not an IPv4 address"},
	{"{'router': {'asn': 1, 'router_id': '0.0.0.0'}}", "/router/router_id",
		"other than 0.0.0.0"},
	{"{'router': {'asn': 0, 'router_id': '1.1.1.1'}}", "/router/asn",
		"0 is not an integer from 1 to 4294967295"},
	{"{'router': {'asn': 23456, 'router_id': '1.1.1.1'}}", "/router/asn", "AS_TRANS"},
	{"{'router': {'asn': 4294967296, 'router_id': '1.1.1.1'}}", "/router/asn",
		"4294967296 is not an integer from"},
	{"{'router': {'asn': '64512', 'router_id': '1.1.1.1'}}", "/router/asn",
		"\"64512\" is not an integer"},
	{"{'router': {'asn': 1.5, 'router_id': '1.1.1.1'}}", "/router/asn",
		"1.5 is not an integer"},
	{"{'router': {'asn': null, 'router_id': '1.1.1.1'}}", "/router/asn", "null is not allowed"},
	{"{" ROUTER ", 'ruter': {}}", "/ruter", "unknown key \"ruter\"; did you mean \"router\"?"},
	{PEER("'remote_as': 64513"), "/bgp/peers/0/remote_as",
		"unknown key \"remote_as\"; did you mean \"asn\"?"},
	{"{" ROUTER ", 'a/b~c': {}}", "/a~1b~0c", "unknown key"},
	{"{" ROUTER ", 'description': 1}", "/description", "1 is not a string"},
	{"{" ROUTER ", 'bgp': null}", "/bgp", "null is not allowed"},
	{"{" ROUTER ", 'management': {'socket': ''}}", "/management/socket", "is 0 octets long"},
	{"{" ROUTER ", 'dataplane': {'worker_cpus': []}}", "/dataplane/worker_cpus",
		"is empty; list at least one CPU"},
	{"{" ROUTER ", 'dataplane': {'worker_cpus': [1, 1]}}", "/dataplane/worker_cpus/1",
		"1 is listed twice"},
	{"{" ROUTER ", 'dataplane': {'worker_cpus': 1}}", "/dataplane/worker_cpus",
		"1 is not an array"},
	{"{" ROUTER ", 'dataplane': {'rib_threads': 17}}", "/dataplane/rib_threads",
		"17 is not an integer from 1 to 16"},
	{"{" ROUTER ", 'dataplane': {'memory_mb': 1}}", "/dataplane/memory_mb",
		"1 is not an integer from 64"},
	{"{" ROUTER ", 'dataplane': {'eal_args': [1]}}", "/dataplane/eal_args/0",
		"1 is not a string"},
	{"{" ROUTER ", 'vrfs': [{}]}", "/vrfs/0/name", "is missing"},
	{"{" ROUTER ", 'vrfs': [{'name': 'elevenchars'}]}", "/vrfs/0/name", "has at most 10"},
	{"{" ROUTER ", 'vrfs': [{'name': 'all'}]}", "/vrfs/0/name", "\"all\""},
	{"{" ROUTER ", 'vrfs': [{'name': 'default', 'rd': '1:1'}]}", "/vrfs/0/rd",
		"only valid for an instance other than \"default\""},
	{VRFS("'rd': '1'"), "/vrfs/0/rd", "\"1\" is not a route distinguisher"},
	{VRFS("'rd': 1"), "/vrfs/0/rd", "1 is not a string"},
	{VRFS("'rd': '0:0'"), "/vrfs/0/rd", "can't be the route distinguisher"},
	{VRFS("'rd': '1:1'}, {'name': 'blue', 'rd': '1:1'"), "/vrfs/1/rd",
		"already used at /vrfs/0"},
	{VRFS("'rd': '192.0.2.1:1'}, {'name': 'blue', 'rd': '0x0001c00002010001'"), "/vrfs/1/rd",
		"already used at /vrfs/0"},
	{VRFS("'import_targets': '1:1'"), "/vrfs/0/import_targets", "is not an array"},
	{VRFS("'import_targets': ['1:1', 'x']"), "/vrfs/0/import_targets/1",
		"\"x\" is not a route target"},
	{VRFS("'import_targets': ['1:1', '1:1']"), "/vrfs/0/import_targets/1", "is listed twice"},
	{VRFS("'rd': '1:1', 'export_targets': ['1:70000', '70000:70000']"),
		"/vrfs/0/export_targets/1", "is not a route target"},
	{VRFS("'export_targets': ['1:1']"), "/vrfs/0/export_targets", "only valid with `rd`"},
	{VRFS("'import_policy': 'p'"), "/vrfs/0/import_policy", "there is no route policy \"p\""},
	{VRFS("'export_policy': 'p'"), "/vrfs/0/export_policy", "there is no route policy \"p\""},
	{VRFS("'max_routes': {}"), "/vrfs/0/max_routes/limit", "is missing"},
	{VRFS("'max_routes': {'limit': 1, 'action': 'shutdown'}"), "/vrfs/0/max_routes/action",
		"is not one of discard, warning"},
	{VRFS("'label_mode': 'per-prefix'"), "/vrfs/0/label_mode", "\"per-prefix\""},
	{VRFS("'description': 'x'}, {'name': 'red'"), "/vrfs/1/name", "already used at /vrfs/0"},
	{IN_RED("'peers': [{'address': '192.0.2.2', 'asn': 1, 'vrf': 'blue'}]"), "/bgp/peers/0/vrf",
		"there is no VRF \"blue\""},
	{IN_RED("'peers': [{'address': '192.0.2.2', 'asn': 1, 'vrf': 'red'}, {'address': "
		"'192.0.2.2', 'asn': 1, 'vrf': 'red'}]"),
		"/bgp/peers/1/address", "is the same peer as /bgp/peers/0"},
	{IN_RED("'networks': [{'prefix': '10.0.0.0/8', 'vrf': 'red'}, {'prefix': '10.0.0.0/8'}, "
		"{'prefix': '10.0.0.0/8', 'vrf': 'red'}]"),
		"/bgp/networks/2/prefix", "already used at /bgp/networks/0"},
	{IN_RED("'redistribute': [{'source': 'static', 'vrf': 'red'}, {'source': 'static'}, "
		"{'source': 'static'}]"),
		"/bgp/redistribute/2/source", "already used at /bgp/redistribute/1"},
	{IN_RED("'peers': [{'address': '192.0.2.2', 'asn': 1, 'vrf': 'red', 'families': "
		"{'vpnv4-unicast': {}}}]"),
		"/bgp/peers/0/families/vpnv4-unicast", "only valid in the VRF \"default\""},
	{IN_RED("'groups': [{'name': 'g', 'asn': 1, 'families': {'vpnv6-unicast': {}}}], "
		"'listen_ranges': [{'prefix': '192.0.2.0/24', 'group': 'g', 'vrf': 'red'}]"),
		"/bgp/listen_ranges/0/families/vpnv6-unicast", "only valid in the VRF \"default\""},
	{"{" ROUTER ", 'vrfs': [{'name': 'default'}, {'name': 'default'}]}", "/vrfs/1/name",
		"already used at /vrfs/0"},
	{"{" ROUTER ", 'udp_tunnels': [{'name': 'a', 'destination': '192.0.2.9'}]}",
		"/udp_tunnels/0/source", "is missing"},
	{"{" ROUTER ", 'udp_tunnels': [{'name': 'a', 'destination': '2001:db8::9', 'source': "
	 "'192.0.2.1'}]}",
		"/udp_tunnels/0/destination", "IPv6 is not supported in this version"},
	{"{" ROUTER ", 'udp_tunnels': [{'name': 'a', 'destination': '192.0.2.9', 'source': "
	 "'192.0.2.9'}]}",
		"/udp_tunnels/0/source", "equals `destination`"},
	{"{" ROUTER ", 'udp_tunnels': [{'name': 'a', 'destination': '192.0.2.9', 'source': "
	 "'192.0.2.1'}, {'name': 'b', 'destination': '192.0.2.9', 'source': '192.0.2.2'}]}",
		"/udp_tunnels/1/destination", "already used at /udp_tunnels/0"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 100, 'next_hop': '192.0.2.9'}]}",
		"/static_lsps/0/in_label", "524288"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'next_hop': '192.0.2.9'}]}",
		"/static_lsps/0/in_label", "a path needs `in_label` or `destination`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000}]}",
		"/static_lsps/0/next_hop", "a path needs `next_hop` or `vrf`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'vrf': 'default', "
	 "'next_hop': '192.0.2.9'}]}",
		"/static_lsps/0/vrf", "only valid without `next_hop`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'vrf': 'default', "
	 "'out_labels': [100]}]}",
		"/static_lsps/0/out_labels", "only valid with `next_hop`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'destination': '192.0.2.1/32'}]}",
		"/static_lsps/0/next_hop", "a path with `destination` needs `next_hop`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'destination': '192.0.2.1/32', "
	 "'in_label': 600000, 'next_hop': '192.0.2.9'}]}",
		"/static_lsps/0/destination", "only valid without `in_label`"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': "
	 "'192.0.2.9', 'out_labels': [7]}]}",
		"/static_lsps/0/out_labels/0", "label 7 is reserved"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': "
	 "'192.0.2.9', 'out_labels': [100, 3]}]}",
		"/static_lsps/0/out_labels/1", "implicit null (3) stands alone"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': "
	 "'192.0.2.9', 'out_labels': [0, 100]}]}",
		"/static_lsps/0/out_labels/0", "a null label is the last label"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': "
	 "'192.0.2.9', 'out_labels': [20, 21, 22, 23, 24, 25, 26]}]}",
		"/static_lsps/0/out_labels/6", "more than 6 labels"},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': '192.0.2.9'}, "
	 "{'name': 'b', 'in_label': 600000, 'vrf': 'default'}]}",
		"/static_lsps/1/in_label", ""},
	{"{" ROUTER ", 'static_lsps': [{'name': 'a', 'in_label': 600000, 'next_hop': '192.0.2.9'}, "
	 "{'name': 'a', 'in_label': 600001, 'vrf': 'default'}]}",
		"/static_lsps/1/name", ""},
	{"{" ROUTER ", 'static_routes': [{'prefix': '203.0.113.0/24', 'next_hop': '192.0.2'}]}",
		"/static_routes/0/next_hop", "\"192.0.2\" is not an IP address"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '203.0.113.1/24', 'next_hop': '192.0.2.9'}]}",
		"/static_routes/0/prefix", "has bits set beyond its length"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '203.0.113.0/24'}]}",
		"/static_routes/0/next_hop",
		"is missing; a static route needs `next_hop` or `blackhole`"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '203.0.113.0/24', 'blackhole': false}]}",
		"/static_routes/0/next_hop",
		"is missing; a static route needs `next_hop` or `blackhole`"},
	{"{" ROUTER ", 'static_routes': [{'next_hop': '192.0.2.9'}]}", "/static_routes/0/prefix",
		"is missing"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '203.0.113.0/24', 'next_hop': '192.0.2.9', "
	 "'blackhole': true}]}",
		"/static_routes/0/blackhole", "only valid without `next_hop`"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '2001:db8::/32', 'next_hop': '192.0.2.9'}]}",
		"/static_routes/0/next_hop", "needs an IPv6 next hop"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '2001:db8::/32', 'next_hop': 'fe80::1'}]}",
		"/static_routes/0/next_hop", "is link-local and needs the port"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '2001:db8::/32', 'next_hop': 'fe80::1%x'}]}",
		"/static_routes/0/next_hop", "names the port \"x\", which does not exist"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9', 'tag': "
	 "-1}]}",
		"/static_routes/0/tag", "-1 is not an integer from 0"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9', 'vrf': "
	 "'x'}]}",
		"/static_routes/0/vrf", "there is no VRF \"x\""},
	{"{" ROUTER ", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9', "
	 "'distance': 1}]}",
		"/static_routes/0/distance", "unknown key"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9'}, "
	 "{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9', 'tag': 1}]}",
		"/static_routes/1/prefix", "is already used at /static_routes/0"},
	{"{" ROUTER ", 'static_routes': [{'prefix': '10.0.0.0/8', 'next_hop': '192.0.2.9'}, "
	 "{'prefix': '10.0.0.0/8', 'blackhole': true}]}",
		"/static_routes/1/prefix",
		"has a next hop in another entry; a blackhole stands alone"},
	{"{" ROUTER ", 'loopback_addresses': ['192.0.2.1']}", "/loopback_addresses/0",
		"is not an address with its length"},
	{"{" ROUTER ", 'loopback_addresses': ['192.0.2.1/32', '192.0.2.1/31']}",
		"/loopback_addresses/1", "is listed twice"},
	{"{" ROUTER ", 'loopback_addresses': ['fe80::1/64']}", "/loopback_addresses/0",
		"can't be the address of an interface"},
	{"{" ROUTER ", 'loopback_addresses': '192.0.2.1/32'}", "/loopback_addresses",
		"is not an array"},
	{"{" ROUTER ", 'preference': {'static': 256}}", "/preference/static",
		"256 is not an integer from 0 to 255"},
	{"{" ROUTER ", 'preference': {'network': 1}}", "/preference/network", "unknown key"},
	{"{" ROUTER ", 'preference': {'static': 5}, 'bgp': {'preference': {'static': 5}}}",
		"/bgp/preference", "only valid without /preference"},
	{"{" ROUTER ", 'ports': [{'name': 'east', 'device': 'net_null0', 'mpls': 1}]}",
		"/ports/0/mpls", "1 is not true or false"},
	{"{" ROUTER ", 'ports': [{'name': 'lo', 'device': 'net_null0'}]}", "/ports/0/name",
		"\"lo\" is reserved"},
	{"{" ROUTER ", 'ports': [{'name': 'keel0', 'device': 'net_null0'}]}", "/ports/0/name",
		"reserved"},
	{"{" ROUTER ", 'ports': [{'name': 'keel-x', 'device': 'net_null0'}]}", "/ports/0/name",
		"reserved"},
	{"{" ROUTER ", 'ports': [{'name': 'sixteencharacter', 'device': 'net_null0'}]}",
		"/ports/0/name", "16 characters"},
	{"{" ROUTER ", 'ports': [{'name': '', 'device': 'net_null0'}]}", "/ports/0/name",
		"0 characters"},
	{"{" ROUTER ", 'ports': [{'name': 'a/b', 'device': 'net_null0'}]}", "/ports/0/name",
		"can't be the name"},
	{"{" ROUTER ", 'ports': [{'name': 'a'}]}", "/ports/0/device", "is missing"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'eth0'}]}", "/ports/0/device",
		"neither a PCI address"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'net_af_xdp0'}]}", "/ports/0/device",
		"has no argument `iface`"},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0'}, {'name': 'b', 'device': 'net_null0'}]}",
		"/ports/1/device", "already used at /ports/0"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'net_null0', 'mtu': 60}]}", "/ports/0/mtu",
		"60 is not an integer from 68 to 9216"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'net_null0', 'vrf': 'blue'}]}",
		"/ports/0/vrf", "there is no VRF \"blue\""},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['192.0.2.1']}]}",
		"/ports/0/addresses/0", "is not an address with its length"},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['192.0.2.1/33']}]}",
		"/ports/0/addresses/0", "is not an address with its length"},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['2001:db8::1/129']}]}",
		"/ports/0/addresses/0", "is not an address with its length"},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['fe80::1%a/64']}]}",
		"/ports/0/addresses/0", "is not an address with its length"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['10.0.0.1/8', "
	 "'ff02::1/64']}]}",
		"/ports/0/addresses/1", "can't be the address of an interface"},
	{"{" ROUTER ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['::1/128']}]}",
		"/ports/0/addresses/0", "can't be the address of an interface"},
	{"{" ROUTER
	 ", 'ports': [{'name': 'a', 'device': 'net_null0', 'addresses': ['2001:db8::1/64', "
	 "'2001:db8:0::1/65']}]}",
		"/ports/0/addresses/1", "is listed twice"},
	{"{" ROUTER ", 'bgp': {'networks': [{'prefix': '198.51.100.1/24'}]}}",
		"/bgp/networks/0/prefix", "\"198.51.100.1/24\" has bits set beyond its length"},
	{"{" ROUTER ", 'bgp': {'networks': [{'vrf': 'default'}]}}", "/bgp/networks/0/prefix",
		"is missing"},
	{"{" ROUTER ", 'bgp': {'networks': [{'prefix': '10.0.0.0/8', 'require_route': true}]}}",
		"/bgp/networks/0/require_route", "not supported in this version"},
	{"{" ROUTER ", 'bgp': {'networks': [{'prefix': '10.0.0.0/8'}, {'prefix': '10.0.0.0/8'}]}}",
		"/bgp/networks/1/prefix", "is already used at"},
	{"{" ROUTER ", 'bgp': {'networks': [{'prefix': '2001:db8::1/32'}]}}",
		"/bgp/networks/0/prefix",
		"has bits set beyond its length (host bits); the network is 2001:db8::/32"},
	{"{" ROUTER
	 ", 'bgp': {'networks': [{'prefix': '2001:db8::/32'}, {'prefix': '2001:DB8:0::/32'}]}}",
		"/bgp/networks/1/prefix", "is already used at /bgp/networks/0"},
	{"{" ROUTER ", 'bgp': {'max_paths': 0}}", "/bgp/max_paths",
		"0 is not an integer from 1 to 64"},
	{"{" ROUTER ", 'bgp': {'max_paths': 65}}", "/bgp/max_paths",
		"65 is not an integer from 1 to 64"},
	{"{" ROUTER ", 'bgp': {'resolve_via_default': 1}}", "/bgp/resolve_via_default",
		"1 is not true or false"},
	{"{" ROUTER ", 'bgp': {'tombstones_max': 1}}", "/bgp/tombstones_max",
		"1 is not an integer from 1024 to"},
	{"{" ROUTER ", 'bgp': {'cluster_id': 0}}", "/bgp/cluster_id", "0 is not an integer from 1"},
	{"{" ROUTER ", 'bgp': {'cluster_id': '0.0.0.0'}}", "/bgp/cluster_id",
		"\"0.0.0.0\" is not a cluster id"},
	{"{" ROUTER ", 'bgp': {'cluster_id': '::1'}}", "/bgp/cluster_id", "is not a cluster id"},
	{"{" ROUTER ", 'bgp': {'redistribute': [{'source': 'bgp'}]}}", "/bgp/redistribute/0/source",
		"is not one of connected, static, kernel"},
	{"{" ROUTER ", 'bgp': {'redistribute': [{}]}}", "/bgp/redistribute/0/source", "is missing"},
	{"{" ROUTER ", 'bgp': {'redistribute': [{'source': 'static', 'policy': 'x'}]}}",
		"/bgp/redistribute/0/policy", "there is no route policy \"x\""},
	{"{" ROUTER ", 'bgp': {'redistribute': [{'source': 'static'}, {'source': 'static'}]}}",
		"/bgp/redistribute/1/source", "is already used at /bgp/redistribute/0"},
	{"{" ROUTER ", 'bgp': {'policy_change_delay_s': -1}}", "/bgp/policy_change_delay_s",
		"-1 is not an integer from 0"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': '10.0.0.1'}]}}", "/bgp/groups/0/name",
		"\"10.0.0.1\" is an IP address"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'fe80::1'}]}}", "/bgp/groups/0/name",
		"is an IP address, which can't be a name"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'slow-peer'}]}}", "/bgp/groups/0/name",
		"is a word of commands"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'a b'}]}}", "/bgp/groups/0/name",
		"is not a name"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'g'}, {'name': 'g'}]}}", "/bgp/groups/1/name",
		"already used at /bgp/groups/0"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'address': '192.0.2.1'}]}}",
		"/bgp/groups/0/address", "unknown key"},
	{"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'group': 'h'}]}}", "/bgp/groups/0/group",
		"unknown key"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.300', 'asn': 1}]}}",
		"/bgp/peers/0/address", "\"192.0.2.300\" is not an IP address"},
	{"{" ROUTER ", 'bgp': {'peers': [{'asn': 1}]}}", "/bgp/peers/0/address", "is missing"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2'}]}}", "/bgp/peers/0/asn",
		"is missing in the peer and in its group"},
	{"{" ROUTER ", 'bgp': {'peers': ['192.0.2.2']}}", "/bgp/peers/0",
		"\"192.0.2.2\" is not an object"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': 'fe80::2', 'asn': 1}]}}",
		"/bgp/peers/0/address", "\"fe80::2\" is link-local and needs the port"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': 'fe80::2%east', 'asn': 1}]}}",
		"/bgp/peers/0/address",
		"\"fe80::2%east\" names the port \"east\", which does not exist"},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::2%west', 'asn': 1}]}}",
		"/bgp/peers/0/address", "names the port \"west\""},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::2%', 'asn': 1}]}}",
		"/bgp/peers/0/address", "names the port \"\""},
	{"{" EAST ", 'bgp': {'peers': [{'address': '2001:db8::2%east', 'asn': 1}]}}",
		"/bgp/peers/0/address", "only a link-local address has a port"},
	{"{" EAST ", 'bgp': {'peers': [{'address': '192.0.2.2%east', 'asn': 1}]}}",
		"/bgp/peers/0/address", "only a link-local address has a port"},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::x%east', 'asn': 1}]}}",
		"/bgp/peers/0/address", "is not an IP address"},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::2%east', 'asn': 1}, {'address': "
	 "'fe80:0::2%east', 'asn': 1}]}}",
		"/bgp/peers/1/address", "\"fe80::2%east\" is the same peer as /bgp/peers/0"},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::2%east', 'asn': 1, 'multihop': 2}]}}",
		"/bgp/peers/0/multihop", "on the link"},
	{"{" EAST ", 'bgp': {'peers': [{'address': 'fe80::2%east', 'asn': 1, 'source': "
	 "'fe80::1%b'}]}}",
		"/bgp/peers/0/source", "is on another link than the peer's address"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': 'ff02::1', 'asn': 1}]}}",
		"/bgp/peers/0/address", "is not the address of a host"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '::', 'asn': 1}]}}", "/bgp/peers/0/address",
		"is not the address of a host"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '::ffff:192.0.2.1', 'asn': 1}]}}",
		"/bgp/peers/0/address", "is not the address of a host"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '224.0.0.5', 'asn': 1}]}}",
		"/bgp/peers/0/address", "is not the address of a host"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 1}, {'address': "
	 "'192.0.2.2', 'asn': 2}]}}",
		"/bgp/peers/1/address", "the same peer as /bgp/peers/0"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 1}, {'address': "
	 "'192.0.2.2', 'asn': 1, 'port': 1179}]}}",
		"/bgp/peers/1/address", "not supported in this version"},
	{PEER("'group': 'x'"), "/bgp/peers/0/group", "there is no group \"x\""},
	{PEER("'vrf': 'x'"), "/bgp/peers/0/vrf", "there is no VRF \"x\""},
	{PEER("'local_as': 64513"), "/bgp/peers/0/local_as", "64513 is the AS number of the peer"},
	{PEER("'local_as': 0"), "/bgp/peers/0/local_as", "0 is not an integer from 1"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 64512, 'local_as': 1}]}}",
		"/bgp/peers/0/local_as", "only valid for an external peer"},
	{PEER("'route_reflector_client': true"), "/bgp/peers/0/route_reflector_client",
		"only valid for an internal peer"},
	{PEER("'families': {'ipv4-unicast': {'max_prefixes': {}}}"),
		"/bgp/peers/0/families/ipv4-unicast/max_prefixes/limit", "is missing"},
	{PEER("'families': {'ipv6-unicast': {'max_prefixes': {'limit': 0}}}"),
		"/bgp/peers/0/families/ipv6-unicast/max_prefixes/limit",
		"0 is not an integer from 1"},
	{PEER("'families': {'ipv4-unicast': {'max_prefixes': {'limit': 1, 'action': 'drop'}}}"),
		"/bgp/peers/0/families/ipv4-unicast/max_prefixes/action",
		"\"drop\" is not one of warning, shutdown, discard"},
	{PEER("'families': {'ipv4-unicast': {'max_prefixes': {'limit': 1, 'threshold_percent': "
	      "101}}}"),
		"/bgp/peers/0/families/ipv4-unicast/max_prefixes/threshold_percent",
		"101 is not an integer from 1 to 100"},
	{PEER("'families': {'ipv4-unicast': {'max_prefixes': {'limit': 1, 'action': 'discard', "
	      "'restart_s': 9}}}"),
		"/bgp/peers/0/families/ipv4-unicast/max_prefixes",
		"`restart_s` is only valid with `action` \"shutdown\""},
	{"{" ROUTER ", 'bgp': {'max_as_path_length': 0}}", "/bgp/max_as_path_length",
		"0 is not an integer from 1"},
	{PEER("'families': {'ipv4-unicast': {'allow_as_in': 256}}"),
		"/bgp/peers/0/families/ipv4-unicast/allow_as_in",
		"256 is not an integer from 0 to 255"},
	{PEER("'families': {'ipv4-unicast': {'site_of_origin': 'rt:1:1'}}"),
		"/bgp/peers/0/families/ipv4-unicast/site_of_origin",
		"\"rt:1:1\" is not a site of origin"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 64512, 'families': "
	 "{'ipv4-unicast': {'as_override': true}}}]}}",
		"/bgp/peers/0/families/ipv4-unicast/as_override",
		"only valid for an external peer"},
	{"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 64512, 'families': "
	 "{'ipv6-unicast': {'remove_private_as': true}}}]}}",
		"/bgp/peers/0/families/ipv6-unicast/remove_private_as",
		"only valid for an external peer"},
	{PEER("'multihop': 0"), "/bgp/peers/0/multihop", "0 is not an integer from 1 to 255"},
	{PEER("'multihop': 256"), "/bgp/peers/0/multihop", "256 is not an integer from 1 to 255"},
	{PEER("'source': '2001:db8::1'"), "/bgp/peers/0/source",
		"\"2001:db8::1\" is not of the family of the peer's address"},
	{PEER("'passive': 'yes'"), "/bgp/peers/0/passive", "\"yes\" is not true or false"},
	{PEER("'capabilities': {'add_path': true}"), "/bgp/peers/0/capabilities/add_path",
		"not supported in this version"},
	{PEER("'capabilities': {'refresh': true}"), "/bgp/peers/0/capabilities/refresh",
		"unknown key"},
	{PEER("'timers': {'hold_s': 2}"), "/bgp/peers/0/timers/hold_s",
		"2 is neither 0 nor at least 3"},
	{PEER("'timers': {'hold': 2}"), "/bgp/peers/0/timers/hold", "did you mean \"hold_s\"?"},
	{PEER("'timers': {'keepalive_s': 90}"), "/bgp/peers/0/timers/keepalive_s",
		"90 is not less than `hold_s` (90)"},
	{PEER("'families': {'ipv6-unicast': {'import_policy': 'x'}}"),
		"/bgp/peers/0/families/ipv6-unicast/import_policy",
		"there is no route policy \"x\""},
	{PEER("'families': {'ipv6-unicast': {'next_hop_self': true, 'next_hop_unchanged': true}}"),
		"/bgp/peers/0/families/ipv6-unicast",
		"only one of `next_hop_self` and `next_hop_unchanged` can be true"},
	{PEER("'families': {'vpnv4-unicast': {'import_policy': 'x'}}"),
		"/bgp/peers/0/families/vpnv4-unicast/import_policy",
		"there is no route policy \"x\""},
	{PEER("'families': {'vpnv6-unicast': {'default_originate': true}}"),
		"/bgp/peers/0/families/vpnv6-unicast/default_originate",
		"not valid in a VPN family: a VPN route needs a route distinguisher and a label"},
	{PEER("'families': {'rt-constraint': {}}"), "/bgp/peers/0/families/rt-constraint",
		"only valid beside \"vpnv4-unicast\" or \"vpnv6-unicast\""},
	{PEER("'families': {'vpnv4-unicast': {}, 'rt-constraint': {'import_policy': 'x'}}"),
		"/bgp/peers/0/families/rt-constraint/import_policy", "unknown key"},
	{PEER("'families': {'ipv4': {}}"), "/bgp/peers/0/families/ipv4", "unknown key"},
	{PEER("'families': {'ipv4-unicast': {'import_policy': 'x'}}"),
		"/bgp/peers/0/families/ipv4-unicast/import_policy",
		"there is no route policy \"x\""},
	{PEER("'families': {'ipv4-unicast': {'next_hop_self': true, 'next_hop_unchanged': true}}"),
		"/bgp/peers/0/families/ipv4-unicast",
		"only one of `next_hop_self` and `next_hop_unchanged` can be true"},
	{"{" ROUTER
	 ", 'bgp': {'groups': [{'name': 'g', 'families': {'ipv4-unicast': {'import_policy': "
	 "'x'}}}], 'peers': [{'address': '192.0.2.2', 'asn': 1, 'group': 'g'}]}}",
		"/bgp/groups/0/families/ipv4-unicast/import_policy", "there is no route policy"},
	{"{" ROUTER ", 'route_policies': [{'name': 'deny-all', 'nodes': []}]}",
		"/route_policies/0/name", "can't be redefined"},
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faulty) / sizeof(faulty[0]); i++) {
		if (i == 1) {
			struct faults f = {0};
			json_t *empty = json_object();
			assert_null(config_parse(host, empty, &f));
			assert_fault(&f, "/router/router_id", "is missing");
			assert_fault(&f, "/router/asn", "is missing");
			assert_int_equal(f.count, 2);
			faults_fini(&f);
			json_decref(empty);
			continue;
		}
		assert_only_fault(faulty[i].document, faulty[i].path, faulty[i].part);
	}
}

/* Values of VPN instances; other sections name the instances, whatever the order of the sections. */
static void
test_vrfs(void **state)
{
	struct config *c = parsed(
		"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 1}, {'address': "
		"'192.0.2.2', 'asn': 2, 'vrf': 'blue'}], 'networks': [{'prefix': '10.0.0.0/8', "
		"'vrf': 'red'}, {'prefix': '10.0.0.0/8'}], 'groups': [{'name': 'g', 'asn': 7}], "
		"'listen_ranges': [{'prefix': '198.51.100.0/24', 'group': 'g', 'vrf': 'red'}]},"
		" 'static_routes': [{'prefix': '10.1.0.0/16', 'next_hop': '192.0.2.9', 'vrf': "
		"'blue'}, {'prefix': '10.1.0.0/16', 'blackhole': true}],"
		" 'ports': [{'name': 'p', 'device': 'net_null0', 'vrf': 'blue', 'mpls': true}],"
		" 'static_lsps': [{'name': 't', 'in_label': 600000, 'vrf': 'blue'}],"
		" 'vrfs': [{'name': 'default', 'description': 'x'}, {'name': 'red', 'rd': "
		"'64512:1', 'import_targets': ['64512:1', '192.0.2.1:2'], 'export_targets': "
		"['4200000000:3'], 'import_policy': 'accept-all', 'export_policy': 'deny-all', "
		"'max_routes': {'limit': 10, 'action': 'warning'}, 'label_mode': 'per-vrf'}, "
		"{'name': 'blue', 'description': 'y'}]}");
	const struct config_vrf *red = config_vrf_named(c, "red"),
				*blue = config_vrf_named(c, "blue");

	(void)state;
	assert_int_equal(c->vrf_count, 2);
	assert_null(config_vrf_named(c, "default"));
	assert_int_equal(red->id.v, 1);
	assert_int_equal(blue->id.v, 2);
	assert_int_equal(c->ports[0].vrf.v, blue->id.v);
	assert_true(c->ports[0].mpls);
	assert_int_equal(c->lsps[0].in_label, 600000);
	assert_int_equal(c->lsps[0].vrf.v, blue->id.v);
	assert_ptr_equal(config_vrf_find(c, blue->id), blue);
	assert_true(red->rd.v == UINT64_C(0x0000fc0000000001));
	assert_int_equal(red->import_targets.count, 2);
	assert_true(red->import_targets.at[1].v == UINT64_C(0x0102c00002010002));
	assert_int_equal(red->export_targets.count, 1);
	assert_true(red->export_targets.at[0].v == UINT64_C(0x0202fa56ea000003));
	assert_string_equal(red->import_policy, "accept-all");
	assert_string_equal(red->export_policy, "deny-all");
	assert_int_equal(red->max_routes, 10);
	assert_int_equal(red->max_routes_action, MAX_ROUTES_WARNING);
	assert_true(blue->rd.v == 0);
	assert_int_equal(blue->max_routes, 0);
	assert_int_equal(blue->max_routes_action, MAX_ROUTES_DISCARD);
	assert_int_equal(c->peers[0].vrf.v, VRF_DEFAULT.v);
	assert_string_equal(c->peers[0].vrf_name, "default");
	assert_int_equal(c->peers[1].vrf.v, blue->id.v);
	assert_string_equal(c->peers[1].vrf_name, "blue");
	assert_ptr_equal(config_peer_find(c, blue->id, &c->peers[1].addr), &c->peers[1]);
	assert_int_equal(c->networks[0].vrf.v, red->id.v);
	assert_int_equal(c->networks[1].vrf.v, VRF_DEFAULT.v);
	assert_int_equal(c->statics[0].vrf.v, blue->id.v);
	assert_int_equal(c->ranges[0].peer.vrf.v, red->id.v);
	assert_string_equal(c->ranges[0].peer.vrf_name, "red");
	config_free(c);
}

/* A name keeps its id while any configuration has the name; the next keeld gives a name the same id. */
static void
test_vrf_ids(void **state)
{
	struct config_host with = {.no_dataplane = true, .vrf_names = vrf_names_create()};
	struct config *a, *b, *c;
	struct vrf_id id, red, blue, white;

	(void)state;
	host = &with;
	a = parsed("{" ROUTER ", 'vrfs': [{'name': 'red'}, {'name': 'blue'}]}");
	b = parsed("{" ROUTER ", 'vrfs': [{'name': 'green'}, {'name': 'blue'}]}");
	red = config_vrf_named(a, "red")->id;
	blue = config_vrf_named(a, "blue")->id;
	assert_int_not_equal(red.v, blue.v);
	assert_int_not_equal(config_vrf_named(b, "green")->id.v, red.v);
	assert_int_equal(config_vrf_named(b, "blue")->id.v, blue.v);
	assert_int_equal(vrf_names_take(with.vrf_names, "red", &id), 0);
	config_free(a);
	c = parsed("{" ROUTER ", 'vrfs': [{'name': 'white'}]}");
	white = config_vrf_named(c, "white")->id;
	config_free(c);
	assert_int_equal(id.v, red.v);
	assert_string_equal(vrf_names_text(with.vrf_names, id), "red");
	vrf_names_drop(with.vrf_names, id);
	assert_null(vrf_names_text(with.vrf_names, id));
	assert_false(vrf_names_find(with.vrf_names, "red", &id));
	c = parsed("{" ROUTER ", 'vrfs': [{'name': 'white'}]}");
	assert_int_equal(config_vrf_named(c, "white")->id.v, white.v);
	config_free(c);
	/* a refused document leaves no reference */
	assert_only_fault("{" ROUTER ", 'vrfs': [{'name': 'white'}, {'name': 'x', 'rd': '1'}]}",
		"/vrfs/1/rd", "is not a route distinguisher");
	assert_false(vrf_names_find(with.vrf_names, "white", &id));
	assert_false(vrf_names_find(with.vrf_names, "x", &id));
	config_free(b);
	assert_null(vrf_names_text(with.vrf_names, blue));
	assert_int_equal(
		vrf_names_take(with.vrf_names, "blue", &id), 0); /* as the first of another keeld */
	assert_int_equal(id.v, blue.v);
	vrf_names_drop(with.vrf_names, id);
	assert_string_equal(vrf_names_text(with.vrf_names, VRF_DEFAULT), "default");
	for (unsigned i = 1; i < VRF_IDS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(vrf_names_take(with.vrf_names, name, &id), 0);
	}
	assert_only_fault("{" ROUTER ", 'vrfs': [{'name': 'red'}]}", "/vrfs/0",
		"one instance too many; 1023 are supported");
	vrf_names_destroy(with.vrf_names);
	host = NULL;
}

/* A fault caused only by group and peer together is reported at the peer. */
static void
test_fault_of_the_merge(void **state)
{
	(void)state;
	assert_only_fault("{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'timers': {'hold_s': 9}}],"
			  " 'peers': [{'address': '192.0.2.2', 'asn': 1, 'group': 'g', 'timers': "
			  "{'keepalive_s': 9}}]}}",
		"/bgp/peers/0/timers/keepalive_s", "9 is not less than `hold_s` (9)");
}

static void
test_all_faults_in_one_pass(void **state)
{
	struct faults f = {0};
	json_t *document = document_of(
		"{'router': {'asn': 0}, 'x': 1, 'ports': [{'name': 'lo', 'device': 'z', 'mtu': 0}],"
		" 'prefix_lists': [{'name': 'a', 'entries': [{'action': 'permit', 'prefix': "
		"'1.1.1.1/8'}]}],"
		" 'bgp': {'peers': [{'address': '192.0.2.300', 'asn': 'x', 'timers': {'hold_s': "
		"1}}, {'address': '192.0.2.2', 'foo': null}]}}");

	(void)state;
	assert_null(config_parse(host, document, &f));
	assert_fault(&f, "/router/asn", "0");
	assert_fault(&f, "/router/router_id", "missing");
	assert_fault(&f, "/x", "unknown key");
	assert_fault(&f, "/ports/0/name", "reserved");
	assert_fault(&f, "/ports/0/device", "\"z\"");
	assert_fault(&f, "/ports/0/mtu", "0 is not");
	assert_fault(&f, "/prefix_lists/0/entries/0/prefix", "the network is 1.0.0.0/8");
	assert_fault(&f, "/bgp/peers/0/address", "192.0.2.300");
	assert_fault(&f, "/bgp/peers/0/asn", "\"x\"");
	assert_fault(&f, "/bgp/peers/0/timers/hold_s", "1 is neither");
	assert_fault(&f, "/bgp/peers/1/foo", "unknown key");
	assert_int_equal(f.count, 11);
	faults_fini(&f);
	json_decref(document);
}

/* A very long value is cut between characters. */
static void
test_long_values(void **state)
{
	struct faults f = {0};
	json_t *document = document_of("{" ROUTER "}");
	char text[601];

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		memcpy(text + 2 * i, "\xc3\xa4", 2);
	text[600] = '\0';
	for (unsigned shift = 0; shift < 2; shift++) {
		json_object_set_new(document, "bgp",
			json_pack("{s:[{s:s, s:i}]}", "peers", "address", text + 2, "asn", 1));
		assert_null(config_parse(host, document, &f));
		assert_fault(&f, "/bgp/peers/0/address", "... is not an IP address");
		json_t *valid = json_string(f.fault[0].reason);
		assert_non_null(valid);
		json_decref(valid);
		faults_fini(&f);
		text[2] = 'x';
		memmove(text + 3, text + 4, 597);
	}
	json_decref(document);
}

/* A damaged document is refused or accepted, without a crash; run under ASan. */
static void
test_damaged_documents(void **state)
{
	static const char *const values[] = {"null", "1", "-1", "''", "'x'", "[]", "{}", "[[]]",
		"[{}]", "true", "1e300", "'10.0.0.0/8'"};
	json_t *good = document_of(example);
	unsigned refused = 0;

	(void)state;
	for (uint64_t first = 1; first <= 3000; first++) {
		uint64_t seed = first;
		json_t *damaged = json_deep_copy(good), *at = damaged,
		       *replacement = document_of(values[random_below(&seed, 12)]);
		struct faults f = {0};
		for (;;) {
			uint32_t n = random_below(
				&seed, (uint32_t)(json_object_size(at) + json_array_size(at)) + 1);
			void *iter = json_object_iter(at);
			for (uint32_t i = 0; iter && i < n; i++)
				iter = json_object_iter_next(at, iter);
			json_t *child = json_is_object(at) ? json_object_iter_value(iter)
							   : json_array_get(at, n);
			if (child && (json_object_size(child) || json_array_size(child)) &&
				random_below(&seed, 4)) {
				at = child;
				continue;
			}
			if (iter && json_is_object(at))
				json_object_set(at, json_object_iter_key(iter), replacement);
			else if (json_is_array(at) && child)
				json_array_set(at, n, replacement);
			break;
		}
		struct config *c = config_parse(host, damaged, &f);
		assert_int_equal(c != NULL, f.count == 0);
		refused += !c;
		config_free(c);
		faults_fini(&f);
		json_decref(replacement);
		json_decref(damaged);
	}
	assert_true(refused > 1000);
	json_decref(good);
}

/* ---- files ---- */

static char folder[] = "/tmp/keel-config-XXXXXX";
static char file[64];

static int
make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(file, sizeof(file), "%s/keel.json", folder);
	return 0;
}

static int
remove_folder(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

static void
write_file(const char *text, size_t len)
{
	/* A new file: ext4 would flush every truncated file to disk, and the test writes thousands. */
	unlink(file);
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, len, out), len);
	fclose(out);
}

static const struct {
	const char *text, *message; /* after FILE: */
} broken[] = {
	{"", "1:1: the file ends where a value should be"},
	{"{", "1:2: the file ends inside an object"},
	{"{\n  \"a\": 1,\n}", "3:1: a key is missing here"},
	{"{\"a\": 1,,}", "1:9: a key in quotes should be here"},
	{"{\"a\" 1}", "1:6: a colon should be here"},
	{"{\"a\": 1 \"b\": 2}", "1:9: a comma or } should be here"},
	{"{\"a\": [1 2]}", "1:10: a comma or ] should be here"},
	{"{\"a\": [1,]}", "1:10: a value is missing here"},
	{"{\"a\": }", "1:7: a value is missing here"},
	{"{\"a\": tru}", "1:7: a value should be here"},
	{"{\"a\": 01}", "1:7: a number can't begin with 0"},
	{"{\"a\": 1.}", "1:7: a digit is missing"},
	{"{\"a\": 1e}", "1:7: a digit is missing"},
	{"{\"a\": -}", "1:7: not a number"},
	{"{\"a\": +1}", "1:7: a value should be here"},
	{"{\"a\": \"x}\n", "1:7: the string does not end on its line"},
	{"{\"a\": \"x", "1:7: the string does not end"},
	{"{\"a\": \"\\x\"}", "1:8: unknown escape"},
	{"{\"a\": \"\\u12g4\"}", "1:8: \\u needs four hexadecimal digits"},
	{"{\"a\": \"\t\"}", "1:8: control character"},
	{"{a: 1}", "1:2: a key in quotes should be here"},
	{"{'a': 1}", "1:2: a key in quotes should be here"},
	{"// remark\n{}", "1:1: JSON has no comments"},
	{"{\"a\": 1} x", "1:10: there is more behind the end"},
	{"{}\n\n{}", "3:1: there is more behind the end"},
	/* a column is a byte: the two letters before take four */
	{"{\n\"\xc3\xa4\xc3\xb6\": x}", "2:9: a value should be here"},
	{"\xef\xbb\xbf{}", "1:1: a value should be here"},
	{"{\"a\": \"\xff\"}", "1:8: this is not UTF-8"},
	{"{\"a\": 99999999999999999999}", "1:7: the number is too large"},
	{"{\"a\": -1e999}", "1:7: the number is too large"},
	{"{\"a\": \"\xed\xa0\x80\"}", "1:8: this is not UTF-8"},
	{"{\"a\": \"x\xf4\x90\x80\x80\"}", "1:9: this is not UTF-8"},
	{"{\"a\": \"\xc3\"}", "1:8: this is not UTF-8"},
	{"{\"a\": \"\\ud800\"}", "1:8: half of a surrogate pair"},
	{"{\"a\": \"\\udc00\\ud800\"}", "1:8: half of a surrogate pair"},
	{"{\"a\": \"\\u0000\"}", "1:8: \\u0000 is not allowed"},
};

static void
test_syntax_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct faults f = {0};
		char *message = NULL, wanted[300];
		write_file(broken[i].text, strlen(broken[i].text));
		snprintf(wanted, sizeof(wanted), "%s:%s", file, broken[i].message);
		assert_null(config_load(file, &message, &f));
		assert_non_null(message);
		if (strncmp(message, wanted, strlen(wanted)))
			fail_msg("wanted %s, got %s", wanted, message);
		assert_int_equal(f.count, 0);
		free(message);
	}
}

/* The reader accepts exactly the texts that jansson accepts: truncated and damaged texts. */
static void
test_agrees_with_jansson(void **state)
{
	json_t *good = document_of(example);
	char *text = json_dumps(good, JSON_INDENT(1));
	size_t len = strlen(text);

	(void)state;
	for (uint64_t first = 1; first <= 3000; first++) {
		static const char bytes[] = "{}[],:\"\\ 0-1.eE+u/ntf\n\t\x01\xff\xc3x";
		uint64_t seed = first;
		char *copy = strdup(text), *message = NULL;
		struct faults f = {0};
		json_error_t error;
		size_t used = first % 4 ? len : random_below(&seed, (uint32_t)len);
		for (unsigned n = random_below(&seed, 3); n && used; n--)
			copy[random_below(&seed, (uint32_t)used)] =
				bytes[random_below(&seed, sizeof(bytes) - 1)];
		write_file(copy, used);
		json_t *ours = config_load(file, &message, &f),
		       *theirs = json_loadb(
			       copy, used, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
		if ((ours != NULL) != (theirs != NULL) || (ours && !json_equal(ours, theirs)))
			fail_msg("seed %llu: %s, %s", (unsigned long long)first,
				message ? message : "taken", theirs ? "taken" : error.text);
		assert_int_equal(ours == NULL, (message != NULL) + (f.count > 0));
		json_decref(ours);
		json_decref(theirs);
		faults_fini(&f);
		free(message);
		free(copy);
	}
	free(text);
	json_decref(good);
}

static void
test_duplicate_keys(void **state)
{
	static const char text[] = "{\"a\": [{\"b\": 1}, {\"b\": {\"x/y\": 1, \"x/y\": 2, \"x/y\": "
				   "3}, \"\\u0062\": 3}], \"c\": 1, \"a\": 2}";
	struct faults f = {0};
	char *message;

	(void)state;
	write_file(text, strlen(text));
	assert_null(config_load(file, &message, &f));
	assert_null(message);
	assert_fault(&f, "/a/1/b/x~1y", "more than once");
	assert_fault(&f, "/a/1/b", "more than once");
	assert_fault(&f, "/a", "more than once");
	assert_int_equal(f.count, 4);
	faults_fini(&f);
}

static void
test_depth(void **state)
{
	char text[200];
	struct faults f = {0};
	char *message;

	(void)state;
	for (unsigned depth = 63; depth <= 65; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		write_file(text, 2 * depth);
		json_t *document = config_load(file, &message, &f);
		assert_int_equal(document != NULL, depth <= 64);
		if (depth > 64)
			assert_non_null(strstr(message, ":1:65: more than 64 levels"));
		free(message);
		json_decref(document);
	}
}

static void
test_no_file(void **state)
{
	struct faults f = {0};
	char *message;

	(void)state;
	assert_null(config_load("/nonexistent/keel.json", &message, &f));
	assert_string_equal(message, "/nonexistent/keel.json: No such file or directory");
	free(message);
	assert_int_equal(config_save("/nonexistent/keel.json", json_null(), NULL), -ENOENT);
}

/* A FIFO without a writer would hold up keeld; config_save() would replace the FIFO. A check takes a pipe. */
static void
test_pipes(void **state)
{
	struct faults f = {0};
	char *message, name[80];
	json_t *document;
	int fd[2];

	(void)state;
	snprintf(name, sizeof(name), "%s/fifo", folder);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_null(config_load(name, &message, &f));
	assert_non_null(strstr(message, "is not a regular file"));
	free(message);
	unlink(name);
	assert_null(config_load(folder, &message, &f));
	assert_non_null(strstr(message, "is not a regular file"));
	free(message);

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "{}", 2), 2);
	close(fd[1]);
	snprintf(name, sizeof(name), "/dev/fd/%d", fd[0]);
	document = config_load_any(name, &message, &f);
	close(fd[0]);
	assert_true(json_is_object(document));
	json_decref(document);
}

static void
test_save(void **state)
{
	json_t *document = document_of(example), *again;
	struct faults f = {0};
	struct stat st;
	char *message, link_name[80];

	(void)state;
	write_file("old", 3);
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(config_save(file, document, NULL), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	again = config_load(file, &message, &f);
	assert_true(json_equal(document, again));
	json_decref(again);
	/* a symbolic link stays a link */
	snprintf(link_name, sizeof(link_name), "%s/link", folder);
	assert_int_equal(symlink(file, link_name), 0);
	json_object_set_new(document, "description", json_string("other"));
	assert_int_equal(config_save(link_name, document, NULL), 0);
	assert_int_equal(lstat(link_name, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	again = config_load(file, &message, &f);
	assert_true(json_equal(document, again));
	json_decref(again);
	json_decref(document);
	unlink(link_name); /* remove_folder() fails when a temporary file remains */
}

/* The text of a value; the caller frees. */
static char *
printed(const json_t *value, struct config_printer *printer)
{
	FILE *f = tmpfile();
	char *text = calloc(1, 300000);

	assert_non_null(f);
	assert_int_equal(config_print(fileno(f), value, printer), 0);
	rewind(f);
	assert_true(fread(text, 1, 299999, f) < 299999);
	fclose(f);
	return text;
}

/* FILE with this text gives the document that jansson reads. */
static void
check_read(const char *text)
{
	struct faults f = {0};
	char *message = NULL;
	json_t *want = json_loads(text, JSON_DECODE_ANY, NULL), *got;

	write_file(text, strlen(text));
	got = config_load(file, &message, &f);
	if (want == NULL || !json_equal(got, want))
		fail_msg("%s: %s", text, message);
	json_decref(got);
	json_decref(want);
}

static void
test_read(void **state)
{
	static const char *const texts[] = {"null", "true", "-0", "\"\"", " [ ] ", "{\"\": {}}",
		"[9223372036854775807, -9223372036854775808, 1.5, 1e3, -1E-3, 0]",
		"{\"\\u0061\\n\": \"\\ud83d\\ude00\\\"\\\\\\/\\b\", \"\\u00e4\": {\"b\": [1, {}, "
		"[2, \"\xc3\xa4\"]], \"c\": false}}",
		"{\"action\": \"permit\", \"l\": [{\"action\": \"permit\"}, {\"action\": "
		"\"deny\"}, "
		"{\"\\u0061ction\": \"per\\u006dit\"}, {\"action\": \"permi\"}, {\"actio\": "
		"\"permit\"}, {\"action\": \"permit \"}]}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_read(texts[i]);
}

static void
test_print(void **state)
{
	static const struct {
		const char *document, *text;
	} cases[] = {{"{}", "{}\n"}, {"[]", "[]\n"},
		{"{'a': {}, 'b': [], 'c': null, 'd': true, 'e': -9223372036854775808}",
			"{\n  \"a\": {},\n  \"b\": [],\n  \"c\": null,\n  \"d\": true,\n  "
			"\"e\": -9223372036854775808\n}\n"},
		/* an entry of a list is one line */
		{"{'l': [{'action': 'permit', 'seq': 10}, {'n': []}, [1, false]]}",
			"{\n  \"l\": [\n    {\"action\": \"permit\", \"seq\": 10},\n    {\n      "
			"\"n\": []\n    },\n    [\n      1,\n      false\n    ]\n  ]\n}\n"}};
	json_t *document = json_object(), *again;
	char key[16], *text;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		again = document_of(cases[i].document);
		text = printed(again, NULL);
		assert_string_equal(text, cases[i].text);
		free(text);
		json_decref(again);
	}
	/* every character below the surrogates, in strings across the ends of the buffer */
	for (int i = 1; i < 0x800; i++) {
		json_object_set_new(document,
			(snprintf(key, sizeof(key), "%c%d", i < 0x80 ? i : 'x', i), key),
			i < 0x80 ? json_sprintf("%*c", i, i)
				 : json_sprintf("%*c%c%c", i % 150, 'x', 0xc0 | i >> 6,
					   0x80 | (i & 0x3f)));
	}
	json_object_set_new(document, "real", json_real(0.1));
	json_object_set_new(document, "long", json_sprintf("%100000s", "x"));
	text = printed(document, NULL);
	again = json_loads(text, 0, NULL);
	assert_true(json_equal(document, again));
	json_decref(again);
	check_read(text);
	free(text);
	json_decref(document);
}

/* After random edits of lists, and after a full disk, the text is as without kept texts. */
static void
test_kept_texts(void **state)
{
	static const char *const edits[] = {"[{'op': 'remove', 'path': '/l/%u/entries/%u'}]",
		"[{'op': 'add', 'path': '/l/%u/entries/%u', 'value': {'x': '\\\\'}}]",
		("[{'op': 'move', 'from': '/l/%u', 'path': '/l/0'}, {'op': 'add', 'path': '/x', "
		 "'value': %u}]"),
		"[{'op': 'copy', 'from': '/l/%u', 'path': '/l/%u'}]",
		"[{'op': 'remove', 'path': '/l/%u'}, {'op': 'add', 'path': '/x', 'value': %u}]"};
	struct config_printer *printer = config_printer_create();
	json_t *document = document_of("{'l': [], 'more': [1, 'x', {}, []]}"), *lists, *next,
	       *before = NULL;
	uint64_t seed = 1;

	(void)state;
	lists = json_object_get(document, "l");
	for (unsigned i = 0; i < 6; i++) {
		json_t *entries = json_array();

		for (unsigned k = 0; k < 10 + 100 * (i % 4); k++)
			json_array_append_new(
				entries, json_pack("{s:i, s:s}", "k", (int)(100 * i + k), "action",
						 "permit"));
		json_array_append_new(lists, json_pack("{s:o}", "entries", entries));
	}
	for (unsigned round = 0; round < 300; round++) {
		struct faults f = {0};
		char patch[200], *want, *got;
		unsigned edit = random_below(&seed, sizeof(edits) / sizeof(edits[0]));
		unsigned count = (unsigned)json_array_size(json_object_get(document, "l"));
		json_t *operations;

		if ((edit == 3 && count > 10) || (edit == 4 && count < 3))
			continue;
		snprintf(patch, sizeof(patch), edits[edit], random_below(&seed, count),
			random_below(&seed, edit == 3 ? count : 5));
		operations = document_of(patch);
		next = config_patch(document, operations, &f);
		assert_non_null(next);
		json_decref(before);
		before = document;
		document = next;
		if (round % 50 == 49) {
			int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

			assert_int_equal(config_print(full, document, printer), -ENOSPC);
			close(full);
		}
		want = printed(document, NULL);
		got = printed(document, printer);
		assert_string_equal(got, want);
		free(want);
		free(got);
		json_decref(operations);
	}
	config_printer_destroy(printer);
	json_decref(before);
	json_decref(document);
}

/* ---- the schema and the tables of keys ---- */

/* Follows `$ref`. */
static json_t *
resolved(json_t *schema, json_t *part)
{
	const json_t *ref = json_object_get(part, "$ref");

	return ref ? config_pointer_get(schema, json_string_value(ref) + 1) : part;
}

/*
 * A document that reaches `path` of the schema's objects: an object for a property, one element for
 * an array. In the innermost object every property of the schema has an invalid value.
 */
static void
check_keys(json_t *schema, const char *pointer, const char *document_pointer, const char *skeleton)
{
	json_t *part = resolved(schema, config_pointer_get(schema, pointer)), *value;
	json_t *document = document_of(skeleton);
	const char *key;
	struct faults f = {0};

	assert_true(json_is_object(json_object_get(part, "properties")));
	assert_true(json_is_false(json_object_get(part, "additionalProperties")));
	json_t *place = config_pointer_get(document, document_pointer);
	assert_true(json_is_object(place));
	json_object_foreach(
		json_object_get(part, "properties"), key, value) if (!json_object_get(place, key))
		json_object_set_new(place, key, json_null());
	config_free(config_parse(host, document, &f));
	for (unsigned i = 0; i < f.count; i++)
		if (!strcmp(f.fault[i].reason, "unknown key"))
			fail_msg("the schema has %s, the program has not", f.fault[i].path);
	faults_fini(&f);
	json_decref(document);
}

static void
test_schema_knows_no_more_keys(void **state)
{
	json_error_t error;
	json_t *schema = json_load_file(
		KEEL_SOURCE_ROOT "/docs/keel.schema.json", JSON_REJECT_DUPLICATES, &error);
	static const struct {
		const char *schema, *document, *skeleton;
	} places[] = {
		{"", "", "{}"},
		{"/properties/router", "/router", "{'router': {}}"},
		{"/properties/dataplane", "/dataplane", "{'dataplane': {}}"},
		{"/properties/management", "/management", "{'management': {}}"},
		{"/$defs/vrf", "/vrfs/0", "{'vrfs': [{}]}"},
		{"/$defs/max_routes", "/vrfs/0/max_routes", "{'vrfs': [{'max_routes': {}}]}"},
		{"/$defs/port", "/ports/0", "{'ports': [{}]}"},
		{"/$defs/prefix_list", "/prefix_lists/0", "{'prefix_lists': [{}]}"},
		{"/$defs/prefix_entry", "/prefix_lists/0/entries/0",
			"{'prefix_lists': [{'entries': [{}]}]}"},
		{"/$defs/as_path_list", "/as_path_lists/0", "{'as_path_lists': [{}]}"},
		{"/$defs/as_path_entry", "/as_path_lists/0/entries/0",
			"{'as_path_lists': [{'entries': [{}]}]}"},
		{"/$defs/community_list", "/community_lists/0", "{'community_lists': [{}]}"},
		{"/$defs/community_entry", "/community_lists/0/entries/0",
			"{'community_lists': [{'entries': [{}]}]}"},
		{"/$defs/route_policy", "/route_policies/0", "{'route_policies': [{}]}"},
		{"/$defs/node", "/route_policies/0/nodes/0",
			"{'route_policies': [{'name': 'x', 'nodes': [{}]}]}"},
		{"/$defs/match", "/route_policies/0/nodes/0/match",
			"{'route_policies': [{'name': 'x', 'nodes': [{'match': {}}]}]}"},
		{"/$defs/set", "/route_policies/0/nodes/0/set",
			"{'route_policies': [{'name': 'x', 'nodes': [{'set': {}}]}]}"},
		{"/$defs/large_community_list", "/large_community_lists/0",
			"{'large_community_lists': [{}]}"},
		{"/$defs/large_community_entry", "/large_community_lists/0/entries/0",
			"{'large_community_lists': [{'entries': [{}]}]}"},
		{"/$defs/ext_community_list", "/ext_community_lists/0",
			"{'ext_community_lists': [{}]}"},
		{"/$defs/ext_community_entry", "/ext_community_lists/0/entries/0",
			"{'ext_community_lists': [{'entries': [{}]}]}"},
		{"/$defs/static_route", "/static_routes/0", "{'static_routes': [{}]}"},
		{"/$defs/preference", "/preference", "{'preference': {}}"},
		{"/$defs/preference", "/bgp/preference", "{'bgp': {'preference': {}}}"},
		{"/$defs/redistribute", "/bgp/redistribute/0", "{'bgp': {'redistribute': [{}]}}"},
		{"/$defs/max_prefixes", "/bgp/peers/0/families/ipv6-unicast/max_prefixes",
			"{'bgp': {'peers': [{'families': {'ipv6-unicast': {'max_prefixes': "
			"{}}}}]}}"},
		{"/$defs/bgp", "/bgp", "{'bgp': {}}"},
		{"/$defs/listen_range", "/bgp/listen_ranges/0", "{'bgp': {'listen_ranges': [{}]}}"},
		{"/$defs/network", "/bgp/networks/0", "{'bgp': {'networks': [{}]}}"},
		{"/$defs/group", "/bgp/groups/0", "{'bgp': {'groups': [{}]}}"},
		{"/$defs/peer", "/bgp/peers/0", "{'bgp': {'peers': [{}]}}"},
		{"/$defs/capabilities", "/bgp/peers/0/capabilities",
			"{'bgp': {'peers': [{'capabilities': {}}]}}"},
		{"/$defs/timers", "/bgp/peers/0/timers", "{'bgp': {'peers': [{'timers': {}}]}}"},
		{"/$defs/families", "/bgp/peers/0/families",
			"{'bgp': {'peers': [{'families': {}}]}}"},
		{"/$defs/family", "/bgp/peers/0/families/ipv4-unicast",
			"{'bgp': {'peers': [{'families': {'ipv4-unicast': {}}}]}}"},
	};

	(void)state;
	assert_non_null(schema);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		check_keys(schema, places[i].schema, places[i].document, places[i].skeleton);
	json_decref(schema);
}

/* `count` peers, each with its own group and policies. */
static json_t *
many_peers(unsigned count)
{
	json_t *groups = json_array(), *policies = json_array(), *peers = json_array();

	for (unsigned i = 0; i < count; i++) {
		char address[20], name[16];

		snprintf(address, sizeof(address), "10.0.%u.%u", i >> 8, i & 255);
		snprintf(name, sizeof(name), "n%u", i);
		json_array_append_new(groups, json_pack("{s:s}", "name", name));
		json_array_append_new(policies, json_pack("{s:s, s:[{s:i, s:s}]}", "name", name,
							"nodes", "seq", 10, "action", "permit"));
		json_array_append_new(
			peers, json_pack("{s:s, s:i, s:s, s:{s:{s:s, s:s}}}", "address", address,
				       "asn", 64513, "group", name, "families", "ipv4-unicast",
				       "import_policy", name, "export_policy", name));
	}
	return json_pack("{s:{s:i, s:s}, s:o, s:{s:o, s:o}}", "router", "asn", 64512, "router_id",
		"192.0.2.1", "route_policies", policies, "bgp", "groups", groups, "peers", peers);
}

/* Minimum CPU time of five runs. */
static uint64_t
parse_ns(unsigned count)
{
	json_t *document = many_peers(count);
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < 5; i++) {
		struct timespec from, to;
		struct faults f = {0};
		struct config *c;
		uint64_t ns;

		(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		c = config_parse(host, document, &f);
		assert_non_null(c);
		assert_non_null(policy_set_find(c->policies,
			c->peers[count - 1].families[FAMILY_IPV4_UNICAST].export_policy));
		for (unsigned k = 0; k < count; k++)
			(void)policy_set_find(c->policies,
				c->peers[k].families[FAMILY_IPV4_UNICAST].import_policy);
		(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)to.tv_nsec -
		     (uint64_t)from.tv_nsec;
		best = ns < best ? ns : best;
		config_free(c);
		faults_fini(&f);
	}
	json_decref(document);
	return best;
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
print_nowhere(const json_t *document, struct config_printer *printer)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_int_equal(config_print(fd, document, printer), 0);
	close(fd);
}

/* An edit of the running document, from the patch to the text: nanoseconds, and the number of compiled lists. */
static uint64_t
edit_ns(const struct config *running, const char *operations, struct config_printer *printer,
	unsigned *compiled)
{
	json_t *patch = document_of(operations), *next;
	struct faults f = {0};
	uint64_t begin = cpu_ns(), ns;
	struct config *c;

	next = config_patch(running->document, patch, &f);
	c = config_parse_with(host, next, running->policy_files, running, &f);
	print_nowhere(next, printer);
	ns = cpu_ns() - begin;
	assert_non_null(c);
	*compiled = policy_set_compiled(c->policies);
	json_decref(config_diff(running->document, next));
	config_free(c);
	json_decref(next);
	json_decref(patch);
	faults_fini(&f);
	return ns;
}

/* An edit of one key of a large document costs what it changes: no list is compiled, and the time is a tenth of a start at most. */
static void
test_edit_of_a_large_document(void **state)
{
	json_t *document = many_peers(4), *lists = json_array();
	struct faults f = {0};
	struct config *c;
	struct config_printer *printer = config_printer_create();
	unsigned compiled;
	uint64_t start, key, entry;

	(void)state;
	for (int i = 0; i < 20; i++) {
		json_t *entries = json_array();

		for (int k = 0; k < 2000; k++)
			json_array_append_new(entries,
				json_pack("{s:s, s:o}", "action", "permit", "prefix",
					json_sprintf("%d.%d.%d.0/24", 10 + i, k / 256, k % 256)));
		json_array_append_new(lists, json_pack("{s:o, s:o}", "name", json_sprintf("l%d", i),
						     "entries", entries));
	}
	json_object_set_new(document, "prefix_lists", lists);
	start = cpu_ns();
	c = config_parse(host, document, &f);
	print_nowhere(document, printer);
	start = cpu_ns() - start;
	assert_non_null(c);
	assert_int_equal(policy_set_compiled(c->policies), 20);
	key = edit_ns(c, "[{'op': 'add', 'path': '/bgp/peers/1/description', 'value': 'x'}]",
		printer, &compiled);
	assert_int_equal(compiled, 0);
	entry = edit_ns(c, "[{'op': 'remove', 'path': '/prefix_lists/7/entries/1000'}]", printer,
		&compiled);
	assert_int_equal(compiled, 1);
	printf("start %.2f ms, edit of a key %.2f ms, of an entry %.2f ms\n", (double)start / 1e6,
		(double)key / 1e6, (double)entry / 1e6);
	assert_true(10 * key < start);
	assert_true(5 * entry < start);
	config_free(c);
	config_printer_destroy(printer);
	json_decref(document);
	faults_fini(&f);
}

/*
 * Eight times as many peers, groups and policies take less than 32 times as long (caches);
 * quadratic time would be 64 times as long.
 */
static void
test_many_peers_are_linear(void **state)
{
	uint64_t few = parse_ns(500), many = parse_ns(4000);

	(void)state;
	printf("500 peers %.2f ms, 4,000 peers %.2f ms\n", (double)few / 1e6, (double)many / 1e6);
	assert_true(many < 32 * few);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_edit_of_a_large_document),
		cmocka_unit_test(test_many_peers_are_linear),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_further_keys),
		cmocka_unit_test(test_inheritance),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_vrfs),
		cmocka_unit_test(test_vrf_ids),
		cmocka_unit_test(test_fault_of_the_merge),
		cmocka_unit_test(test_all_faults_in_one_pass),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_damaged_documents),
		cmocka_unit_test(test_syntax_errors),
		cmocka_unit_test(test_agrees_with_jansson),
		cmocka_unit_test(test_duplicate_keys),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_pipes),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_kept_texts),
		cmocka_unit_test(test_schema_knows_no_more_keys),
		cmocka_unit_test(test_any_interface_without_dataplane),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
