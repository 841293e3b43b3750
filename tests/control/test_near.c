/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Suggestions of keys: words of other daemons, with their suffix, within two letters; no suggestion
 * for distant words.
 */
#include "control/config/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *const peer_keys[] = {"address", "asn", "group", "vrf", "passive", "password",
	"timers", "hold_s", "keepalive_s", "multihop", "source", "local_as", "families",
	"max_prefixes", "import_policy", "export_policy", "ipv4-unicast", "ipv6-unicast"};

static const struct {
	const char *key, *found;
} cases[] = {
	{"remote_as", "asn"},
	{"remote-as", "asn"},
	{"Remote_AS", "asn"},
	{"peer_as", "asn"},
	{"ebgp-multihop", "multihop"},
	{"update_source", "source"},
	{"maximum_prefix", "max_prefixes"},
	{"hold", "hold_s"},
	{"hold_time", "hold_s"},
	{"ipv4", "ipv4-unicast"},
	{"ipv6_unicast", "ipv6-unicast"},
	{"adress", "address"},
	{"addres", "address"},
	{"adderss", "address"}, /* two letters swapped */
	{"pasword", "password"},
	{"familys", "families"},
	{"max_prefxies", "max_prefixes"},
	{"import_polcy", "import_policy"},
	{"gruop", "group"},
	{"asm", "asn"},
	{"as", "asn"},
	/* too far, too short, or no key at all */
	{"a", ""},
	{"xx", ""},
	{"colour", ""},
	{"grxxp", ""},
	{"", ""},
	{"gro\nup", ""},
	{"gro\033up", ""},
};

static const char *
found(const char *key)
{
	static struct near n;

	n = near_begin(key);
	for (unsigned i = 0; i < sizeof(peer_keys) / sizeof(peer_keys[0]); i++)
		near_consider(&n, peer_keys[i]);
	return n.found;
}

static void
test_cases(void **state)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(found(cases[i].key), cases[i].found);
}

/* Keys of every length up to twice the buffer. */
static void
test_long(void **state)
{
	char key[2 * NEAR_KEY_MAX + 1], other[2 * NEAR_KEY_MAX + 1];

	for (size_t len = 0; len < sizeof(key) - 1; len++) {
		struct near n;

		memset(key, 'a', len);
		key[len] = '\0';
		memset(other, 'a', sizeof(other) - 1);
		other[len] = '\0';
		if (len > 0)
			other[len - 1] = 'b';
		n = near_begin(key);
		near_consider(&n, other);
		assert_string_equal(n.found, len > 2 && len < NEAR_KEY_MAX ? other : "");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_long)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
