/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys with their own rules: management.http, password, gtsm, keep_all_routes, listen_ranges. */
#include "control/config/config.h"
#include "tests/control/config_test.h"

#define ROUTER "'router': {'asn': 64512, 'router_id': '192.0.2.1'}"
#define PEER(keys)                                                                                 \
	"{" ROUTER ", 'bgp': {'peers': [{'address': '192.0.2.2', 'asn': 64513, " keys "}]}}"
#define RANGES(ranges)                                                                             \
	"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 64513}, {'name': 'bare'}], "         \
	"'listen_ranges': [" ranges "]}}"

/* NULL in case of faults. */
static struct config *
try(const char *text, struct faults *f)
{
	json_t *document = document_of(text);
	struct config *c = config_parse(NULL, document, f);

	json_decref(document);
	return c;
}

static struct config *
parsed(const char *text)
{
	struct faults f = {0};
	struct config *c = try(text, &f);

	print_faults(&f);
	assert_non_null(c);
	return c;
}

static void
assert_only_fault(const char *text, const char *path, const char *part)
{
	struct faults f = {0};

	assert_null(try(text, &f));
	assert_fault(&f, path, part);
	assert_int_equal(f.count, 1);
	faults_fini(&f);
}

static void
test_http(void **state)
{
	static const struct {
		const char *text, *addr;
		uint16_t port;
	} good[] = {{"127.0.0.1:9179", "127.0.0.1", 9179}, {"[::1]:80", "::1", 80},
		{"0.0.0.0:65535", "0.0.0.0", 65535}, {"[::]:1", "::", 1}};
	static const char *const bad[] = {"127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
		"127.0.0.1:65536", "127.0.0.1:80x", ":80", "[]:80", "[:80", "]:80", "::1:80",
		"[127.0.0.1]:80", "[::1]80", "[::1", "localhost:80", "127.0.0.1: 80",
		"127.0.0.1:+80"};
	char text[256], addr[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text),
			"{" ROUTER ", 'management': {'http': '%s', 'http_token_file': '/t'}}",
			good[i].text);
		struct config *c = parsed(text);
		assert_string_equal(addr_format(&c->http_addr, addr), good[i].addr);
		assert_int_equal(c->http_port, good[i].port);
		assert_string_equal(c->http_token_file, "/t");
		config_free(c);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{" ROUTER ", 'management': {'http': '%s'}}", bad[i]);
		assert_only_fault(text, "/management/http", "is not an address with a port");
	}
	assert_only_fault("{" ROUTER ", 'management': {'http': 80}}", "/management/http",
		"80 is not a string");
	struct config *c = parsed("{" ROUTER "}");
	assert_int_equal(c->http_addr.afi, AFI_NONE);
	assert_null(c->http_token_file);
	config_free(c);
}

static void
test_password(void **state)
{
	char longest[81], text[300];
	struct faults f = {0};
	struct config *c = parsed(PEER("'password': 'x y'"));

	(void)state;
	assert_string_equal(c->peers[0].password, "x y");
	config_free(c);
	c = parsed(PEER("'gtsm': false"));
	assert_null(c->peers[0].password);
	config_free(c);
	memset(longest, 'q', 80);
	longest[80] = '\0';
	snprintf(text, sizeof(text), PEER("'password': '%s'"), longest);
	c = parsed(text);
	assert_string_equal(c->peers[0].password, longest);
	config_free(c);
	snprintf(text, sizeof(text), PEER("'password': '%sq'"), longest);
	assert_null(try(text, &f));
	assert_fault(&f, "/bgp/peers/0/password", "must be 1 to 80 octets long");
	assert_null(
		/* a slightly invalid secret must not be shown either */
		strstr(f.fault[0].reason, "qq"));
	faults_fini(&f);
	assert_only_fault(
		PEER("'password': ''"), "/bgp/peers/0/password", "must be 1 to 80 octets long");
	assert_only_fault(PEER("'password': 5"), "/bgp/peers/0/password", "is not a string");
	assert_only_fault(PEER("'password': '***'"), "/bgp/peers/0/password", "there is none");
	c = parsed("{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'password': 'of all'}],"
		   " 'peers': [{'address': '192.0.2.2', 'asn': 1, 'group': 'g'}, {'address': "
		   "'192.0.2.3', 'asn': 1, 'group': 'g', 'password': 'own'}]}}");
	assert_string_equal(c->peers[0].password, "of all");
	assert_string_equal(c->peers[1].password, "own");
	config_free(c);
}

static const char with_secrets[] =
	"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'password': 'one'}, {'name': 'h'}],"
	" 'peers': [{'address': '192.0.2.2', 'password': 'two'}, {'address': '2001:db8::2', "
	"'password': 'three'}, {'address': '192.0.2.4'}]}}";

static const char *
password_at(json_t *document, const char *pointer)
{
	return json_string_value(config_pointer_get(document, pointer));
}

static void
test_secrets(void **state)
{
	json_t *known = document_of(with_secrets), *shown = json_deep_copy(known);
	json_t *other = json_deep_copy(known), *diff;

	(void)state;
	config_secrets_hide(shown);
	assert_string_equal(password_at(shown, "/bgp/groups/0/password"), "***");
	assert_string_equal(password_at(shown, "/bgp/peers/1/password"), "***");
	assert_null(config_pointer_get(shown, "/bgp/peers/2/password"));
	/* The document as shown restores its secrets. */
	config_secrets_keep(shown, known);
	assert_true(json_equal(shown, known));
	/* Reordered, with addresses in another notation, and without a secret to keep. */
	json_decref(shown);
	shown = document_of(
		"{'bgp': {'groups': [{'name': 'h', 'password': '***'}, {'name': 'g', 'password': "
		"'***'}], 'peers': [{'address': '2001:DB8:0::2', 'password': '***'}, {'address': "
		"'192.0.2.9', 'password': '***'}, {'address': '192.0.2.2', 'password': 'new'}]}}");
	config_secrets_keep(shown, known);
	assert_string_equal(password_at(shown, "/bgp/groups/0/password"), "***");
	assert_string_equal(password_at(shown, "/bgp/groups/1/password"), "one");
	assert_string_equal(password_at(shown, "/bgp/peers/0/password"), "three");
	assert_string_equal(password_at(shown, "/bgp/peers/1/password"), "***");
	assert_string_equal(password_at(shown, "/bgp/peers/2/password"), "new");
	/* A value of another type is secret, too: the operator may have forgotten the quotes. */
	json_object_set_new(
		config_pointer_get(shown, "/bgp/peers/0"), "password", json_integer(1234));
	json_object_set_new(config_pointer_get(shown, "/bgp/peers/1"), "password",
		json_pack("[{s:s}]", "key", "1234"));
	config_secrets_hide(shown);
	assert_string_equal(password_at(shown, "/bgp/peers/0/password"), "***");
	assert_string_equal(password_at(shown, "/bgp/peers/1/password"), "***");
	/* A diff reports the change without the value. */
	json_object_set_new(
		config_pointer_get(other, "/bgp/peers/0"), "password", json_string("changed"));
	json_object_set_new(
		config_pointer_get(other, "/bgp/peers/2"), "password", json_string("new"));
	json_object_set_new(
		config_pointer_get(other, "/bgp/groups/0"), "password", json_string("changed"));
	json_object_set_new(
		config_pointer_get(other, "/bgp/groups/1"), "password", json_pack("[s]", "new"));
	diff = config_diff(known, other);
	config_secrets_hide_diff(diff);
	assert_int_equal(json_array_size(diff), 4);
	char *text = json_dumps(diff, 0);
	assert_null(strstr(text, "changed"));
	assert_null(strstr(text, "new"));
	free(text);
	json_decref(diff);
	json_decref(known);
	json_decref(shown);
	json_decref(other);
}

static void
test_gtsm_and_keep(void **state)
{
	struct config *c = parsed(PEER("'gtsm': true, 'families': {'ipv4-unicast': "
				       "{'keep_all_routes': true}, 'ipv6-unicast': {}}"));

	(void)state;
	assert_true(c->peers[0].gtsm);
	assert_true(c->peers[0].families[FAMILY_IPV4_UNICAST].keep_all_routes);
	assert_false(c->peers[0].families[FAMILY_IPV6_UNICAST].keep_all_routes);
	config_free(c);
	c = parsed("{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 1, 'gtsm': true, "
		   "'families': {'ipv4-unicast': {'keep_all_routes': true}}}], 'peers': "
		   "[{'address': '192.0.2.2', 'group': 'g', 'gtsm': false}]}}");
	assert_false(c->peers[0].gtsm);
	assert_true(c->peers[0].families[FAMILY_IPV4_UNICAST].keep_all_routes);
	config_free(c);
	assert_only_fault("{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 1, 'gtsm': true}], "
			  "'peers': [{'address': '192.0.2.2', 'group': 'g', 'multihop': 2}]}}",
		"/bgp/peers/0/gtsm", "only valid without `multihop` (2)");
	assert_only_fault("{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 1, 'gtsm': true, "
			  "'multihop': 2}], 'listen_ranges': [{'prefix': '10.0.0.0/8', 'group': "
			  "'g'}]}}",
		"/bgp/listen_ranges/0/group", "has both `gtsm` and `multihop`");
	/* the kernel demands the password of a range of every address inside */
	assert_only_fault(
		"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 1, 'password': 'p'}], "
		"'peers': [{'address': '10.0.0.1', 'asn': 2}, {'address': '10.0.0.2', 'asn': 2, "
		"'password': 'q'}, {'address': '11.0.0.1', 'asn': 2}], "
		"'listen_ranges': [{'prefix': '10.0.0.0/8', 'group': 'g'}]}}",
		"/bgp/peers/0/password", "lies in the listen range 10.0.0.0/8");
	assert_only_fault("{" ROUTER
			  ", 'bgp': {'groups': [{'name': 'g', 'asn': 1, 'password': 'p'}, "
			  "{'name': 'h', 'asn': 2}], 'listen_ranges': [{'prefix': '10.0.0.0/8', "
			  "'group': 'g'}, "
			  "{'prefix': '10.1.0.0/16', 'group': 'h'}]}}",
		"/bgp/listen_ranges/1/group", "lies in the listen range 10.0.0.0/8");
	assert_only_fault(PEER("'families': {'ipv4-unicast': {'keep_all_routes': 1}}"),
		"/bgp/peers/0/families/ipv4-unicast/keep_all_routes", "1 is not true or false");
}

static const struct config_range *
range_of(const struct config *c, const char *text)
{
	struct ip_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return config_range_find(c, VRF_DEFAULT, &addr);
}

static void
test_ranges(void **state)
{
	struct config *c = parsed(
		"{" ROUTER ", 'bgp': {'groups': [{'name': 'g', 'asn': 64513, 'password': 'p', "
		"'multihop': 4, 'timers': {'hold_s': 30}, 'families': {'ipv6-unicast': "
		"{'import_policy': 'accept-all'}}}, {'name': 'bare', 'password': 'q'}], "
		"'listen_limit': 7, "
		"'listen_ranges': [{'prefix': '10.0.0.0/8', 'group': 'g'}, {'prefix': "
		"'10.1.0.0/16', 'group': 'bare', 'asn': 64512, 'vrf': 'default', 'description': "
		"'inside'}, {'prefix': '2001:db8::/32', 'group': 'g', 'asn': 64514}, {'prefix': "
		"'192.0.2.0/24', 'group': 'bare'}]}}");
	struct ip_addr addr;
	struct config_peer p;

	(void)state;
	assert_int_equal(c->range_count, 4);
	assert_int_equal(c->listen_limit, 7);
	assert_ptr_equal(range_of(c, "10.9.0.1"), &c->ranges[0]);
	assert_ptr_equal(range_of(c, "10.1.0.1"), &c->ranges[1]); /* longest match */
	assert_ptr_equal(range_of(c, "2001:db8::9"), &c->ranges[2]);
	assert_null(range_of(c, "11.0.0.1"));
	assert_null(range_of(c, "2001:db9::9"));
	assert_int_equal(addr_parse("10.9.0.1", &addr), 0);
	config_range_peer(&c->ranges[0], &addr, &p);
	assert_string_equal(p.addr_text, "10.9.0.1");
	assert_true(addr_equal(&p.addr, &addr));
	assert_true(p.dynamic && p.passive && p.external);
	assert_int_equal(p.asn, 64513);
	assert_int_equal(p.local_as, 64512);
	assert_int_equal(p.multihop, 4);
	assert_int_equal(p.timers.hold_s, 30);
	assert_int_equal(p.timers.connect_retry_s, 10);
	assert_string_equal(p.password, "p");
	assert_string_equal(p.group, "g");
	assert_string_equal(p.vrf_name, "default");
	assert_true(p.families[FAMILY_IPV6_UNICAST].enabled);
	assert_string_equal(p.families[FAMILY_IPV6_UNICAST].import_policy, "accept-all");
	assert_false(p.families[FAMILY_IPV4_UNICAST].enabled);
	assert_int_equal(addr_parse("10.1.0.1", &addr), 0);
	config_range_peer(&c->ranges[1], &addr, &p);
	assert_false(p.external);
	assert_true(p.families[FAMILY_IPV4_UNICAST].enabled);
	assert_int_equal(c->ranges[2].peer.asn, 64514);
	assert_int_equal(c->ranges[3].peer.asn, 0); /* any AS in the OPEN */
	config_free(c);
	assert_only_fault(RANGES("{'prefix': '10.0.0.0/8', 'group': 'h'}"),
		"/bgp/listen_ranges/0/group", "there is no group \"h\"");
	assert_only_fault(RANGES("{'group': 'g'}"), "/bgp/listen_ranges/0/prefix", "is missing");
	assert_only_fault(RANGES("{'prefix': '10.0.0.1/8', 'group': 'g'}"),
		"/bgp/listen_ranges/0/prefix", "has bits set beyond its length");
	assert_only_fault(RANGES("{'prefix': '10.0.0.0/8', 'group': 'g'}, {'prefix': "
				 "'10.0.0.0/8', 'group': 'g'}"),
		"/bgp/listen_ranges/1/prefix", "is already used at /bgp/listen_ranges/0");
	assert_only_fault(RANGES("{'prefix': '10.0.0.0/8', 'group': 'g', 'peer': 1}"),
		"/bgp/listen_ranges/0/peer", "unknown key");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_gtsm_and_keep),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
