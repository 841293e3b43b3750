/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer sends faulty UPDATEs of different kinds: every message is recorded with its reason,
 * prefixes and octets; the record is bounded and survives the session.
 */
#include "control/session/session.h"

#include "control/bgp/bgp_attr.h"
#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define PEER_ID 0xc0000302u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script s;
static struct session_fault faults[SESSION_FAULTS];

static void
greet(unsigned id)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, id).state == FSM_ESTABLISHED);
}

/* An UPDATE with these attributes that announces 10.SECOND.0.0/16 and the next /16. */
static size_t
update(uint8_t *msg, const char *attrs, size_t attrs_len, uint8_t second)
{
	const uint8_t nlri[] = {16, 10, second, 16, 10, (uint8_t)(second + 1)};
	struct wr w = wr_init(msg, BGP_MSG_MAX);

	memset(msg, 0xff, 16);
	wr_bytes(&w, msg, 16);
	wr_u16(&w, (uint16_t)(BGP_HEADER_LEN + 4 + attrs_len + sizeof(nlri)));
	wr_u8(&w, BGP_UPDATE);
	wr_u16(&w, 0);
	wr_u16(&w, (uint16_t)attrs_len);
	wr_bytes(&w, (const uint8_t *)attrs, attrs_len);
	wr_bytes(&w, nlri, sizeof(nlri));
	return wr_len(&w);
}

#define ORIGIN "\x40\x01\x01\x00"
#define AS_PATH "\x40\x02\x06\x02\x01\x00\x00\xfd\xe9"
#define NEXT_HOP "\x40\x03\x04\xc0\x00\x02\x63"
#define CASE(severity, text, attrs)                                                                \
	{                                                                                          \
		severity, text, attrs, sizeof(attrs) - 1                                           \
	}

static const struct {
	uint8_t severity;
	const char *text, *attrs;
	size_t len;
} cases[] = {
	CASE(TREAT_AS_WITHDRAW, "origin: value 9, expected 0, 1 or 2",
		"\x40\x01\x01\x09" AS_PATH NEXT_HOP),
	CASE(TREAT_AS_WITHDRAW, "origin: length 2, expected 1",
		"\x40\x01\x02\x00\x00" AS_PATH NEXT_HOP),
	CASE(TREAT_AS_WITHDRAW, "origin: optional and transitive flags 0xc0, expected 0x40",
		"\xc0\x01\x01\x00" AS_PATH NEXT_HOP),
	CASE(TREAT_AS_WITHDRAW, "as-path is missing", ORIGIN NEXT_HOP),
	CASE(TREAT_AS_WITHDRAW,
		"as-path: malformed segment, AS number 0, or a segment that this peer must not "
		"send",
		ORIGIN "\x40\x02\x06\x02\x01\x00\x00\x00\x00" NEXT_HOP),
	CASE(TREAT_AS_WITHDRAW, "next-hop: next hop 127.0.0.1 is ours, or the address of no host",
		ORIGIN AS_PATH "\x40\x03\x04\x7f\x00\x00\x01"),
	CASE(TREAT_AS_WITHDRAW, "communities: length 3, expected a multiple of 4, at least 4",
		ORIGIN AS_PATH NEXT_HOP "\xc0\x08\x03\x01\x02\x03"),
	CASE(TREAT_AS_WITHDRAW,
		"large-communities: length 0, expected a multiple of 12, at least 12",
		ORIGIN AS_PATH NEXT_HOP "\xc0\x20\x00"),
	CASE(TREAT_AS_WITHDRAW, "communities: its length 200 exceeds the list of attributes",
		ORIGIN AS_PATH NEXT_HOP "\xc0\x08\xc8\x01"),
	CASE(TREAT_AS_WITHDRAW, "the list of attributes ends within the header of an attribute",
		ORIGIN AS_PATH NEXT_HOP "\xc0"),
	CASE(ATTRIBUTE_DISCARD,
		"aggregator: length 3, expected 8 (6 from a peer with 2-octet AS numbers)",
		ORIGIN AS_PATH NEXT_HOP "\xc0\x07\x03\x01\x02\x03"),
	CASE(ATTRIBUTE_DISCARD, "med appears more than once",
		ORIGIN AS_PATH NEXT_HOP "\x80\x04\x04\x00\x00\x00\x01\x80\x04\x04\x00\x00\x00\x02"),
	CASE(ATTRIBUTE_DISCARD, "local-pref is not for external peers to send",
		ORIGIN AS_PATH NEXT_HOP "\x40\x05\x04\x00\x00\x00\x64"),
	CASE(SESSION_RESET, "attribute 99 is unknown and not optional",
		ORIGIN AS_PATH NEXT_HOP "\x40\x63\x01\x00"),
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void
expect_case(const struct session_fault *f, unsigned i, uint8_t second)
{
	bool reset = cases[i].severity == SESSION_RESET;
	uint8_t msg[BGP_MSG_MAX];
	size_t len = update(msg, cases[i].attrs, cases[i].len, second);

	assert_string_equal(f->text, cases[i].text);
	assert_int_equal(f->severity, cases[i].severity);
	assert_int_equal(f->family, reset ? FAMILY_COUNT : V4);
	assert_int_equal(f->prefixes, reset ? 0 : 2);
	assert_int_equal(f->len, len);
	assert_int_equal(f->kept, len);
	assert_memory_equal(f->octets, msg, len);
}

static void
test_every_fault(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint8_t msg[BGP_MSG_MAX];

	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	greet(1);
	assert_int_equal(node_faults(&n, 1, faults), 0);
	for (unsigned i = 0; i < CASES; i++)
		script_send(&s, msg, update(msg, cases[i].attrs, cases[i].len, (uint8_t)(2 * i)));
	/* The last UPDATE ends the session; the record stays. */
	script_expect_notification(&s, ERR_UPDATE, UPDATE_UNRECOGNIZED_WELL_KNOWN);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	assert_int_equal(node_faults(&n, 1, faults), CASES);
	for (unsigned i = 0; i < CASES; i++) {
		expect_case(&faults[i], i, (uint8_t)(2 * i));
		assert_true(faults[i].time_s >= faults[i > 0 ? i - 1 : 0].time_s);
	}
	script_close(&s);

	/* A header and an OPEN are messages, too. */
	script_connect(&s, &n, 2, 0);
	memset(msg, 0, BGP_HEADER_LEN);
	script_send(&s, msg, BGP_HEADER_LEN);
	wait_for(node_faults(&n, 1, faults) == CASES + 1);
	assert_string_equal(faults[CASES].text, "message-header-error/connection-not-synchronized");
	assert_int_equal(faults[CASES].kept, BGP_HEADER_LEN);
	script_close(&s);
	node_end(&n);
}

/*
 * Many more faults than the record holds: the last faults remain. node_end() checks that the other
 * entries were freed: the arena must be empty.
 */
static void
test_bounded(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	uint8_t msg[BGP_MSG_MAX];

	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &c, policy_accept_all());
	greet(1);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 1000; i++)
			script_send(&s, msg,
				update(msg, cases[i % 10].attrs, cases[i % 10].len, (uint8_t)i));
		wait_for(node_view(&n, 1).updates_received == 1000 * (round + 1));
		assert_int_equal(node_faults(&n, 1, faults), SESSION_FAULTS);
		for (unsigned i = 0; i < SESSION_FAULTS; i++) {
			unsigned sent = 1000 - SESSION_FAULTS + i;

			expect_case(&faults[i], sent % 10, (uint8_t)sent);
		}
	}
	script_close(&s);
	node_end(&n);
}

/*
 * An operator removes a peer shortly after its faulty message: the window of log lines ends with
 * the record. The timers of later peers are compared with the timers that are armed.
 */
static void
test_removed_within_the_window(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct node_call removal;
	uint8_t msg[BGP_MSG_MAX];

	node_begin(&n, OWN_AS, OWN_ID);
	for (uint16_t id = 1; id <= 8; id++) {
		node_peer(&n, id, &c, policy_accept_all());
		greet(id);
		script_send(&s, msg, update(msg, cases[0].attrs, cases[0].len, 0));
		wait_for(node_faults(&n, id, faults) == 1);
		removal = (struct node_call){.id = {id}};
		node_do(&n, call_remove, &removal);
		script_expect_notification(&s, ERR_CEASE, CEASE_PEER_DECONFIGURED);
		script_close(&s);
		wait_for(node_gone(&n, id));
	}
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_fault),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_removed_within_the_window),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
