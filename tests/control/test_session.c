/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_calls.h"
#include "tests/lpm/size.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define PEER_AS 65001u
#define NEXT_HOP 0xc0000263u
#define PEER_ID 0xc0000302u

static void
node_with_peer(struct node *n, const struct config_peer *c)
{
	node_begin(n, OWN_AS, OWN_ID);
	node_peer(n, 1, c, policy_accept_all());
}

/* ---- two speakers ---- */

static struct attr_set
own_attrs(void)
{
	struct attr_set a;

	memset(&a, 0, sizeof(a));
	a.next_hop = addr_from_v4(NEXT_HOP);
	return a;
}

/*
 * Both speakers connect at once, repeatedly, sometimes with a collision; one session results, and
 * routes pass.
 */
static void
test_two_speakers(void **state)
{
	static const uint8_t no_export[] = {0xff, 0xff, 0xff, 0x01};
	static struct node a, b;
	struct config_peer of_a, of_b;
	struct attr_set own = own_attrs();
	union script_attrs marked;
	struct session_view v;

	node_begin(&a, OWN_AS, OWN_ID);
	node_begin(&b, PEER_AS, PEER_ID);
	of_a = peer_config(PEER_AS, OWN_AS, 2);
	of_b = peer_config(OWN_AS, PEER_AS, 1);
	of_a.passive = of_b.passive = false;
	of_a.tcp_port = b.port;
	of_b.tcp_port = a.port;
	of_a.source = loopback(1);
	of_b.source = loopback(2);
	node_originate(&a, 0x0a000000, 8, &own);
	node_peer(&a, 1, &of_a, policy_accept_all());
	node_peer(&b, 1, &of_b, policy_accept_all());
	wait_for(node_view(&a, 1).state == FSM_ESTABLISHED &&
		 node_view(&b, 1).state == FSM_ESTABLISHED);
	wait_for(node_paths(&b, 0x0a000000, 8) == 1);

	script_attrs(&marked, 0, NEXT_HOP);
	memcpy(marked.a.var, no_export, sizeof(no_export));
	marked.a.community_count = 1;
	node_originate(&a, 0x0b000000, 8, &marked.a);
	node_originate(&a, 0x0c000000, 8, &own);
	wait_for(node_paths(&b, 0x0c000000, 8) == 1);
	assert_int_equal(node_paths(&b, 0x0b000000, 8), 0);
	node_originate(&a, 0x0a000000, 8, NULL);
	wait_for(node_paths(&b, 0x0a000000, 8) == 0);

	v = node_view(&a, 1);
	assert_int_equal(v.established_count, 1);
	assert_int_equal(v.remote_asn, PEER_AS);
	assert_int_equal(v.remote_identifier, PEER_ID);
	assert_int_equal(v.families[FAMILY_IPV4_UNICAST].advertised, 1);
	assert_true(v.families[FAMILY_IPV4_UNICAST].end_of_rib_sent);
	assert_true(v.enhanced_route_refresh.negotiated && v.four_octet_as.negotiated &&
		    v.graceful_restart.negotiated);
	wait_for(node_view(&b, 1).families[FAMILY_IPV4_UNICAST].end_of_rib_received);
	node_end(&a);
	wait_for(node_view(&b, 1).state != FSM_ESTABLISHED);
	wait_for(node_paths(&b, 0x0c000000, 8) == 0);
	assert_non_null(strstr(node_view(&b, 1).last_error, "administrative-shutdown"));
	node_end(&b);
}

/* ---- OPEN ---- */

struct bad_open {
	const char *name;
	uint8_t code, subcode;
	void (*edit)(uint8_t *msg, size_t *len);
};

static void
edit_marker(uint8_t *msg, size_t *len)
{
	msg[3] = 0;
}

static void
edit_length(uint8_t *msg, size_t *len)
{
	msg[16] = 0;
	msg[17] = 18;
}

static void
edit_type(uint8_t *msg, size_t *len)
{
	msg[18] = 77;
}

static void
edit_version(uint8_t *msg, size_t *len)
{
	msg[19] = 3;
}

static void
edit_hold(uint8_t *msg, size_t *len)
{
	msg[22] = 0;
	msg[23] = 2;
}

static void
edit_identifier(uint8_t *msg, size_t *len)
{
	memset(msg + 24, 0, 4);
}

static void
edit_parameter(uint8_t *msg, size_t *len)
{
	msg[29] = 9; /* the type of the first optional parameter */
}

static void
edit_asn(uint8_t *msg, size_t *len)
{
	struct bgp_open_options o = script_open(PEER_AS + 1, PEER_ID);

	*len = bgp_open_encode(&o, msg, BGP_MSG_MAX);
}

static void
edit_families(uint8_t *msg, size_t *len)
{
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);

	o.families = 1u << FAMILY_IPV6_UNICAST;
	*len = bgp_open_encode(&o, msg, BGP_MSG_MAX);
}

static void
edit_keepalive(uint8_t *msg, size_t *len)
{
	*len = bgp_keepalive_encode(msg, BGP_MSG_MAX);
}

static const struct bad_open bad_opens[] = {
	{"marker", ERR_HEADER, HEADER_NOT_SYNCHRONIZED, edit_marker},
	{"length", ERR_HEADER, HEADER_BAD_LENGTH, edit_length},
	{"type", ERR_HEADER, HEADER_BAD_TYPE, edit_type},
	{"version", ERR_OPEN, OPEN_UNSUPPORTED_VERSION, edit_version},
	{"hold", ERR_OPEN, OPEN_UNACCEPTABLE_HOLD_TIME, edit_hold},
	{"identifier", ERR_OPEN, OPEN_BAD_IDENTIFIER, edit_identifier},
	{"parameter", ERR_OPEN, OPEN_UNSUPPORTED_PARAMETER, edit_parameter},
	{"asn", ERR_OPEN, OPEN_BAD_PEER_AS, edit_asn},
	{"families", ERR_OPEN, OPEN_UNSUPPORTED_CAPABILITY, edit_families},
	{"keepalive", ERR_FSM, FSM_UNEXPECTED_IN_OPEN_SENT, edit_keepalive},
};

static void
test_bad_open(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	static struct script s;
	static struct node n;

	node_with_peer(&n, &c);
	for (unsigned i = 0; i < sizeof(bad_opens) / sizeof(bad_opens[0]); i++) {
		struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
		uint8_t msg[BGP_MSG_MAX];
		size_t len = bgp_open_encode(&o, msg, sizeof(msg));

		script_greet(&s, &n, 2);
		bad_opens[i].edit(msg, &len);
		script_send(&s, msg, len);
		script_expect_notification(&s, bad_opens[i].code, bad_opens[i].subcode);
		script_close(&s);
		assert_string_equal(node_view(&n, 1).last_error + 5,
			bgp_notification_text(bad_opens[i].code, bad_opens[i].subcode));
	}
	assert_int_equal(node_view(&n, 1).established_count, 0);
	node_end(&n);
}

/* RFC 5492 5: the NOTIFICATION lists the missing families in the form of an OPEN. */
static void
test_no_common_family(void **state)
{
	static const uint8_t missing[] = {CAP_MULTIPROTOCOL, 4, 0, 1, 0, 1};
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct bgp_notification told;
	const uint8_t *p;
	static struct script s;
	static struct node n;

	o.families = 1u << FAMILY_IPV6_UNICAST;
	node_with_peer(&n, &c);
	script_greet(&s, &n, 2);
	script_send_open(&s, &o);
	p = script_read(&s, WAIT_MS);
	assert_non_null(p);
	assert_int_equal(s.type, BGP_NOTIFICATION);
	assert_int_equal(bgp_notification_decode(p, s.len, &told).severity, BGP_OK);
	assert_int_equal(told.subcode, OPEN_UNSUPPORTED_CAPABILITY);
	assert_int_equal(told.data_len, sizeof(missing));
	assert_memory_equal(told.data, missing, sizeof(missing));
	script_close(&s);
	node_end(&n);
}

/* A connection from an unconfigured address is closed without a message. */
static void
test_stranger(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	static struct script s;
	static struct node n;

	node_with_peer(&n, &c);
	script_connect(&s, &n, 9, 0);
	assert_null(script_read(&s, WAIT_MS));
	script_close(&s);
	node_end(&n);
}

/* ---- collision (RFC 4271 6.8) ---- */

struct collision {
	uint32_t peer_asn, peer_id;
	bool theirs_stays;
};

/* A node with a peer to which the node connects; `ours` has the connection. Returns the listener of the peer. */
static int
collision_begin(struct node *n, struct config_peer *c, struct script *ours)
{
	int listener;

	memset(ours, 0, sizeof(*ours));
	listener = script_listen(ours, &c->tcp_port);
	c->passive = false;
	c->source = loopback(1);
	node_with_peer(n, c);
	script_accept(ours, listener);
	return listener;
}

static void
collision_end(struct node *n, struct script *ours, struct script *theirs, int listener)
{
	script_close(ours);
	script_close(theirs);
	close(listener);
	node_end(n);
}

/*
 * Both connections reach OpenSent; the connection opened by the side with the higher identifier
 * stays, whichever OPEN arrives first.
 */
static void
collide(const struct collision *k, bool ours_first)
{
	struct config_peer c = peer_config(k->peer_asn, OWN_AS, 2);
	struct bgp_open_options o = script_open(k->peer_asn, k->peer_id);
	static struct script ours, theirs;
	struct script *first = ours_first ? &ours : &theirs, *then = ours_first ? &theirs : &ours;
	struct script *stays = k->theirs_stays ? &theirs : &ours,
		      *goes = k->theirs_stays ? &ours : &theirs;
	static struct node n;
	int listener;

	listener = collision_begin(&n, &c, &ours);
	assert_non_null(script_read(&ours, WAIT_MS));
	assert_int_equal(ours.type, BGP_OPEN);
	script_connect(&theirs, &n, 2, 0);
	assert_non_null(script_read(&theirs, WAIT_MS));
	assert_int_equal(theirs.type, BGP_OPEN);
	script_send_open(first, &o);
	if (first == stays) {
		assert_non_null(script_read(first, WAIT_MS));
		assert_int_equal(first->type, BGP_KEEPALIVE); /* OpenConfirm there */
	}
	script_send_open(then, &o);
	script_expect_notification(goes, ERR_CEASE, CEASE_COLLISION);
	script_send_keepalive(stays);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	assert_string_equal(node_view(&n, 1).last_error, "");
	collision_end(&n, &ours, &theirs, listener);
}

/* RFC 4271 6.8; with equal identifiers the higher AS number wins (RFC 6286 2.3). */
static void
test_collision(void **state)
{
	static const struct collision c[] = {
		{PEER_AS, OWN_ID + 1, true},
		{PEER_AS, OWN_ID - 1, false},
		{OWN_AS + 1, OWN_ID, true},
		{OWN_AS - 1, OWN_ID, false},
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		collide(&c[i], true);
		collide(&c[i], false);
	}
}

/*
 * The peer has confirmed the losing connection before the peer handled the other connection: the
 * losing connection is not established, causes no session events, and leaves the other connection
 * alone. When the other connection stays silent, the first connection becomes the session.
 */
static void
collide_late(bool other_speaks)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, OWN_ID + 1);
	static struct script ours, theirs;
	static struct node n;
	int listener;

	listener = collision_begin(&n, &c, &ours);
	script_connect(&theirs, &n, 2, 0);
	assert_non_null(script_read(&ours, WAIT_MS));
	assert_non_null(script_read(&theirs, WAIT_MS));
	script_send_open(&ours, &o);
	script_send_keepalive(&ours);
	if (other_speaks) {
		assert_null(script_read(&ours, 300)); /* no KEEPALIVE */
		script_send_open(&theirs, &o);
		script_send_notification(&ours, ERR_CEASE, CEASE_COLLISION, NULL, 0);
		script_send_keepalive(&theirs);
	}
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	assert_int_equal(script_read_routes(other_speaks ? &theirs : &ours, -1, NULL), 0);
	assert_int_equal(node_view(&n, 1).established_count, 1);
	assert_string_equal(node_view(&n, 1).last_error, "");
	collision_end(&n, &ours, &theirs, listener);
}

static void
test_collision_late(void **state)
{
	collide_late(true);
	collide_late(false);
}

/*
 * After both OPENs a second connection of the peer gets no OPEN, whatever the identifiers are: for the
 * peer the first connection may still be in OpenConfirm, and the peer would close the first connection.
 */
static void
collide_confirmed(uint32_t peer_id)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, peer_id);
	static struct script ours, theirs;
	static struct node n;
	int listener;

	listener = collision_begin(&n, &c, &ours);
	assert_non_null(script_read(&ours, WAIT_MS));
	script_send_open(&ours, &o);
	assert_non_null(script_read(&ours, WAIT_MS));
	assert_int_equal(ours.type, BGP_KEEPALIVE);
	script_connect(&theirs, &n, 2, 0);
	script_expect_notification(&theirs, ERR_CEASE, CEASE_COLLISION);
	script_send_keepalive(&ours);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	assert_int_equal(node_view(&n, 1).established_count, 1);
	assert_string_equal(node_view(&n, 1).last_error, "");
	collision_end(&n, &ours, &theirs, listener);
}

static void
test_collision_confirmed(void **state)
{
	collide_confirmed(OWN_ID + 1);
	collide_confirmed(OWN_ID - 1);
}

/*
 * A passive session has no connection of its own to collide with: the peer's second connection
 * replaces the first.
 */
static void
test_collision_passive(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script first, second;
	static struct node n;

	node_with_peer(&n, &c);
	script_greet(&first, &n, 2);
	script_establish(&second, &n, 2, &o);
	assert_null(script_read(&first, WAIT_MS)); /* closed */
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	assert_string_equal(node_view(&n, 1).last_error, "");
	script_close(&first);
	script_close(&second);
	node_end(&n);
}

/*
 * While a session is established, a second connection is refused without an effect on the session.
 */
static void
test_second_connection(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script s, second;
	static struct node n;

	node_with_peer(&n, &c);
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	script_connect(&second, &n, 2, 0);
	script_expect_notification(&second, ERR_CEASE, CEASE_COLLISION);
	script_close(&second);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_int_equal(node_view(&n, 1).established_count, 1);
	script_close(&s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);
	node_end(&n);
}

/* ---- timers ---- */

static void
test_hold_timer(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script s;
	static struct node n;
	struct hist_summary late;
	unsigned keepalives = 0;
	uint64_t begin, took;

	o.hold_time_s = 3;
	node_with_peer(&n, &c);
	begin = now_ns();
	script_establish(&s, &n, 2, &o);
	while (script_read(&s, WAIT_MS) != NULL && s.type != BGP_NOTIFICATION)
		keepalives += s.type == BGP_KEEPALIVE;
	took = now_ns() - begin;
	assert_int_equal(s.type, BGP_NOTIFICATION);
	assert_int_equal(s.buf[BGP_HEADER_LEN], ERR_HOLD_TIMER);
	assert_true(took > 2900000000u);
	/* every 0.75 to 1 s, fewer on a delayed machine */
	speaker_keepalive_late(n.speaker, &late);
	assert_in_range(keepalives, late.max < 200000000u ? 2 : 0, 1 + took / 740000000u);
	assert_int_equal(node_view(&n, 1).hold_time_s, 0); /* not up any more */
	assert_string_equal(node_view(&n, 1).last_error, "sent hold-timer-expired");
	script_close(&s);
	node_end(&n);
}

/*
 * The shard returns no batches, so the session stops reading and octets wait: the silence is our
 * own, and must not expire the hold timer.
 */
static void
test_hold_while_reading_stops(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script s;
	static struct node n;
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;
	uint64_t begin, silent;
	unsigned sent = 0, rearmed;

	o.hold_time_s = 3;
	node_with_peer(&n, &c);
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	atomic_store(&n.paused, true);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	begin = silent = now_ns();
	while (now_ns() - silent < 1000000000u && now_ns() - begin < 10000000000u) {
		size_t len = script_update(msg, &a.a, 0x0a000000 + (sent % 256) * 65536, 200);
		struct pollfd p = {.fd = s.fd, .events = POLLOUT};

		if (poll(&p, 1, 10) == 1) {
			script_send(&s, msg, len);
			sent++;
			silent = now_ns();
		}
	}
	/* Reading has stopped. Rearms of the hold timer are a third of the hold time apart. */
	begin = now_ns();
	rearmed = node_view(&n, 1).hold_rearmed;
	wait_for(node_view(&n, 1).hold_rearmed >= rearmed + 2);
	assert_true(now_ns() - begin > 1000000000u);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	assert_true(node_view(&n, 1).updates_received < sent);
	atomic_store(&n.paused, false);
	thread_wake(n.rib[0]);
	wait_for(node_view(&n, 1).updates_received == sent);
	wait_for(node_paths(&n, 0x0a000000 + ((sent - 1) % 256) * 65536, 24) == 1);
	assert_int_equal(node_view(&n, 1).established_count, 1);
	script_close(&s);
	node_end(&n);
}

/* ---- UPDATE ---- */

/* RFC 7606: a wrong ORIGIN withdraws the route, and the session stays. */
static void
test_treat_as_withdraw(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	static struct script s;
	static struct node n;
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs a;
	size_t len;

	node_with_peer(&n, &c);
	script_establish(&s, &n, 2, &o);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, 1);
	script_send_update(&s, &a.a, 0x0b000000, 1);
	wait_for(node_paths(&n, 0x0a000000, 24) == 1 && node_paths(&n, 0x0b000000, 24) == 1);
	len = script_update(msg, &a.a, 0x0a000000, 1);
	assert_memory_equal(msg + 23, "\x40\x01\x01\x00", 4); /* ORIGIN */
	msg[26] = 9;
	script_send(&s, msg, len);
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_int_equal(node_paths(&n, 0x0b000000, 24), 1);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	script_send_update(&s, NULL, 0x0b000000, 1);
	wait_for(node_paths(&n, 0x0b000000, 24) == 0);
	/* Wrong lengths of the lists are beyond treat-as-withdraw. */
	len = script_update(msg, &a.a, 0x0a000000, 1);
	msg[19] = 0xff;
	script_send(&s, msg, len);
	script_expect_notification(&s, ERR_UPDATE, UPDATE_MALFORMED_LIST);
	script_close(&s);
	node_end(&n);
}

/* RFC 8212: without policies no route is accepted or advertised. */
static void
test_no_policy(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct attr_set own = own_attrs();
	static struct script s;
	static struct node n;
	struct bgp_update_options u = {.as4 = true, .families = 1, .external = true};
	struct bgp_update update;
	union script_attrs a;

	node_begin(&n, OWN_AS, OWN_ID);
	node_originate(&n, 0x0c000000, 8, &own);
	node_peer(&n, 1, &c, NULL);
	script_establish(&s, &n, 2, &o);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, 1);
	assert_non_null(script_next(&s));
	bgp_update_decode(s.buf, s.len, &u, &a.a, &update);
	assert_true(update.end_of_rib);
	wait_for(node_view(&n, 1).updates_received == 1);
	assert_int_equal(node_paths(&n, 0x0a000000, 24), 0);
	assert_true(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].no_import_policy);
	assert_true(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].no_export_policy);
	assert_int_equal(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].advertised, 0);
	script_close(&s);
	node_end(&n);
}

/* ---- refresh ---- */

#define ROUTES 3000u

/* The earliest possible request: End-of-RIB, then BoRR, all routes, EoRR. */
static void
test_refresh_served(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct attr_set own = own_attrs();
	static struct script s;
	static struct node n;
	struct session_view v;

	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned i = 0; i < ROUTES; i++)
		node_originate(&n, 0x0a000000 + i * 256, 24, &own);
	node_peer(&n, 1, &c, policy_accept_all());
	script_greet(&s, &n, 2);
	script_send_open(&s, &o);
	assert_non_null(script_read(&s, WAIT_MS));
	script_send_keepalive(&s);
	script_send_refresh(&s, REFRESH_REQUEST);
	assert_int_equal(script_read_routes(&s, -1, NULL), ROUTES);
	assert_int_equal(script_read_routes(&s, REFRESH_BEGIN, NULL), 0);
	assert_int_equal(script_read_routes(&s, REFRESH_END, NULL), ROUTES);
	wait_for(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].eorr_sent == 1);
	v = node_view(&n, 1);
	assert_int_equal(v.families[FAMILY_IPV4_UNICAST].requests_received, 1);
	assert_int_equal(v.families[FAMILY_IPV4_UNICAST].served, 1);
	assert_int_equal(v.families[FAMILY_IPV4_UNICAST].borr_sent, 1);
	assert_int_equal(v.families[FAMILY_IPV4_UNICAST].advertised, ROUTES);
	script_close(&s);
	node_end(&n);
}

#define FLOOD 500u

/*
 * Endless requests: a few complete walks with rests in between answer all requests, the last walk
 * after the last request.
 */
static void
test_refresh_flood(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct attr_set own = own_attrs();
	const enum family f = FAMILY_IPV4_UNICAST;
	static struct script s;
	static struct node n;
	struct session_view v;
	unsigned walks = 0;

	node_begin(&n, OWN_AS, OWN_ID);
	for (unsigned i = 0; i < ROUTES; i++)
		node_originate(&n, 0x0a000000 + i * 256, 24, &own);
	node_peer(&n, 1, &c, policy_accept_all());
	script_establish(&s, &n, 2, &o);
	assert_int_equal(script_read_routes(&s, -1, NULL), ROUTES);
	for (unsigned i = 0; i < FLOOD; i++)
		script_send_refresh(&s, REFRESH_REQUEST);
	do {
		assert_int_equal(script_read_routes(&s, REFRESH_BEGIN, NULL), 0);
		assert_int_equal(script_read_routes(&s, REFRESH_END, NULL), ROUTES);
		walks++;
		v = node_view(&n, 1);
	} while (v.families[f].requests_received < FLOOD ||
		 v.families[f].served + v.families[f].coalesced < FLOOD ||
		 v.families[f].served > walks);
	assert_int_equal(v.families[f].requests_received, FLOOD);
	assert_int_equal(v.families[f].served, walks);
	assert_int_equal(v.families[f].coalesced, FLOOD - walks);
	assert_int_equal(v.families[f].borr_sent, walks);
	assert_int_equal(v.established_count, 1);
	script_close(&s);
	node_end(&n);
}

/*
 * Our own request is sent; between BoRR and EoRR one of two routes is announced again, the other
 * route is swept; the job ends.
 */
static void
test_refresh_import(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct node_call call = {.id = {1}, .job = 42};
	static struct script s;
	static struct node n;
	union script_attrs a;

	node_with_peer(&n, &c);
	call.n = &n;
	thread_call(n.session, call_refresh_import, &call);
	assert_int_equal(call.result, REFRESH_NOT_ESTABLISHED);
	script_establish(&s, &n, 2, &o);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, 2);
	script_send(&s,
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x17\x02\x00"
		"\x00\x00\x00",
		23);
	wait_for(node_paths(&n, 0x0a000100, 24) == 1);
	assert_int_equal(script_read_routes(&s, -1, NULL), 0);
	thread_call(n.session, call_refresh_import, &call);
	assert_int_equal(call.result, REFRESH_SENT);
	assert_int_equal(script_read_routes(&s, REFRESH_REQUEST, NULL), 0);
	script_send_refresh(&s, REFRESH_BEGIN);
	script_send_update(&s, &a.a, 0x0a000100, 1);
	wait_for(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].borr_received == 1);
	assert_int_equal(node_events(&n, SESSION_REFRESH_DONE, 42), 0);
	script_send_refresh(&s, REFRESH_END);
	wait_for(node_events(&n, SESSION_REFRESH_DONE, 42) == 1);
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_int_equal(node_paths(&n, 0x0a000100, 24), 1);
	/* The session ends before EoRR: the job fails. */
	call.job = 43;
	thread_call(n.session, call_refresh_import, &call);
	script_close(&s);
	wait_for(node_events(&n, SESSION_REFRESH_FAILED, 43) == 1);
	node_end(&n);
}

/* The stale timer sweeps the remaining routes of a peer that never sends EoRR. */
static void
test_refresh_stale(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct node_call call = {.id = {1}, .job = 7};
	static struct script s;
	static struct node n;
	union script_attrs a;

	c.timers.stale_refresh_s = 1;
	node_with_peer(&n, &c);
	call.n = &n;
	script_establish(&s, &n, 2, &o);
	script_attrs(&a, PEER_AS, NEXT_HOP);
	script_send_update(&s, &a.a, 0x0a000000, 2);
	script_send(&s,
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x17\x02\x00"
		"\x00\x00\x00",
		23);
	wait_for(node_paths(&n, 0x0a000100, 24) == 1);
	thread_call(n.session, call_refresh_import, &call);
	script_send_refresh(&s, REFRESH_BEGIN);
	script_send_update(&s, &a.a, 0x0a000100, 1);
	wait_for(node_events(&n, SESSION_REFRESH_FAILED, 7) == 1);
	wait_for(node_paths(&n, 0x0a000000, 24) == 0);
	assert_int_equal(node_paths(&n, 0x0a000100, 24), 1);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	script_close(&s);
	node_end(&n);
}

/*
 * An export refresh by command: framed, with a job, and not counted as a request. Without RFC 7313
 * at the peer: unframed.
 */
static void
test_refresh_export(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct node_call call = {.id = {1}, .job = 5};
	struct attr_set own = own_attrs();
	static struct script s;
	static struct node n;

	node_with_peer(&n, &c);
	call.n = &n;
	node_originate(&n, 0x0a000000, 24, &own);
	script_establish(&s, &n, 2, &o);
	assert_int_equal(script_read_routes(&s, -1, NULL), 1);
	thread_call(n.session, call_refresh_export, &call);
	assert_int_equal(call.result, REFRESH_READVERTISED);
	assert_int_equal(script_read_routes(&s, REFRESH_BEGIN, NULL), 0);
	assert_int_equal(script_read_routes(&s, REFRESH_END, NULL), 1);
	wait_for(node_events(&n, SESSION_EXPORT_DONE, 5) == 1);
	assert_int_equal(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].requests_received, 0);
	assert_int_equal(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].served, 0);
	script_close(&s);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED);

	o.enhanced_route_refresh = false;
	call.job = 6;
	script_establish(&s, &n, 2, &o);
	assert_int_equal(script_read_routes(&s, -1, NULL), 1);
	thread_call(n.session, call_refresh_export, &call);
	wait_for(node_events(&n, SESSION_EXPORT_DONE, 6) == 1);
	assert_non_null(script_next(&s));
	assert_int_equal(s.type, BGP_UPDATE);
	script_close(&s);
	node_end(&n);
}

/* Memory for an event is taken before the action: without memory the action fails, and no event is lost. */
static void
test_events_without_memory(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct node_call call = {.id = {1}, .job = 42};
	static struct script s;
	static struct node n;

	(void)state;
	node_with_peer(&n, &c);
	call.n = &n;
	n.no_memory = true;
	script_connect(&s, &n, 2, 0);
	wait_for(n.refused > 0);
	script_close(&s);
	assert_int_equal(node_events(&n, SESSION_UP, 0) + node_events(&n, SESSION_DOWN, 0), 0);
	n.no_memory = false;
	script_establish(&s, &n, 2, &o);
	wait_for(node_events(&n, SESSION_UP, 0) == 1);
	thread_call(n.session, call_refresh_import, &call);
	assert_int_equal(call.result, REFRESH_SENT);
	n.no_memory = true;
	call.job = 43;
	thread_call(n.session, call_refresh_import, &call);
	assert_int_equal(call.result, REFRESH_UNSUPPORTED);
	assert_string_equal(call.reason, "out-of-memory");
	thread_call(n.session, call_refresh_export, &call);
	assert_int_equal(call.result, REFRESH_UNSUPPORTED);
	assert_string_equal(call.reason, "out-of-memory");
	script_close(&s);
	wait_for(node_events(&n, SESSION_DOWN, 0) == 1);
	assert_int_equal(node_events(&n, SESSION_REFRESH_FAILED, 42), 1);
	assert_int_equal(node_events(&n, SESSION_REFRESH_FAILED, 43) +
				 node_events(&n, SESSION_EXPORT_DONE, 43),
		0);
	n.no_memory = false;
	node_end(&n);
}

/* ---- the operator ---- */

/* When `passive` is removed, a waiting session connects; when restored, the session waits again. */
static void
test_passive_changes(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct session_policies policies = {
		.export_policy[0] = policy_accept_all(), .has_import[0] = true};
	struct node_call call = {.id = {1}, .config = &c, .policies = &policies};
	static struct script s;
	static struct node n;
	struct pollfd asked = {.events = POLLIN};
	int listener = script_listen(&s, &c.tcp_port);

	c.source = loopback(1);
	c.timers.connect_retry_s = 2;
	node_with_peer(&n, &c);
	call.n = &n;
	asked.fd = listener;
	assert_int_equal(poll(&asked, 1, 100), 0);
	c.passive = false;
	thread_call(n.session, call_update, &call);
	script_accept(&s, listener);
	assert_non_null(script_read(&s, WAIT_MS));
	assert_int_equal(s.type, BGP_OPEN);
	script_close(&s);
	wait_for(node_view(&n, 1).state == FSM_ACTIVE);
	c.passive = true;
	thread_call(n.session, call_update, &call);
	assert_false(call.result);
	assert_int_equal(node_view(&n, 1).state, FSM_ACTIVE);
	assert_int_equal(poll(&asked, 1, 3000), 0);
	close(listener);
	node_end(&n);
}

static void
test_operator(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2);
	struct bgp_open_options o = script_open(PEER_AS, PEER_ID);
	struct session_policies policies = {
		.export_policy[0] = policy_accept_all(), .has_import[0] = true};
	struct node_call call = {
		.id = {1}, .text = "until tea", .config = &c, .policies = &policies};
	static struct script s;
	static struct node n;

	node_with_peer(&n, &c);
	call.n = &n;
	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	thread_call(n.session, call_reset, &call);
	assert_true(call.result);
	script_expect_notification(&s, ERR_CEASE, CEASE_ADMIN_RESET);
	assert_int_equal(s.buf[BGP_HEADER_LEN + 2], 9);
	assert_memory_equal(s.buf + BGP_HEADER_LEN + 3, "until tea", 9);
	script_close(&s);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	c.timers.stale_refresh_s = 5;
	thread_call(n.session, call_update, &call);
	assert_false(call.result);
	assert_int_equal(node_view(&n, 1).state, FSM_ESTABLISHED);
	c.capabilities.route_refresh = false;
	thread_call(n.session, call_update, &call);
	assert_true(call.result);
	script_expect_notification(&s, ERR_CEASE, CEASE_CONFIG_CHANGE);
	script_close(&s);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	c.shutdown = true;
	thread_call(n.session, call_update, &call);
	script_expect_notification(&s, ERR_CEASE, CEASE_ADMIN_SHUTDOWN);
	script_close(&s);
	script_connect(&s, &n, 2, 0);
	assert_null(script_read(&s, WAIT_MS));
	script_close(&s);
	c.shutdown = false;
	thread_call(n.session, call_update, &call);

	script_establish(&s, &n, 2, &o);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	thread_call(n.session, call_remove, &call);
	script_expect_notification(&s, ERR_CEASE, CEASE_PEER_DECONFIGURED);
	script_close(&s);
	node_end(&n);
}

/* ---- a peer that does not read ---- */

#define MANY thread_turns(100000u, 25000u) /* attribute sets: more than a retire list holds */

static void
call_originate_many(void *arg)
{
	struct node_call *c = arg;

	role_enter_rib();
	for (unsigned i = 0; i < MANY; i++) {
		struct prefix p = prefix_from_v4(0x0a000000 + i * 256, 24);
		struct attr_set own = own_attrs();

		own.has = ATTR_HAS_MED; /* its own attribute set and message */
		own.med = i;
		assert_int_equal(
			shard_originate(c->n->shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &p, &own),
			0);
	}
}

/*
 * The slow peer's export waits, the fast peer's does not, and both receive all routes in the end.
 * Then both sessions end at once.
 */
static void
test_blocked_peer(void **state)
{
	struct config_peer c = peer_config(PEER_AS, OWN_AS, 2),
			   d = peer_config(PEER_AS + 1, OWN_AS, 3);
	struct bgp_open_options oc = script_open(PEER_AS, PEER_ID),
				od = script_open(PEER_AS + 1, PEER_ID + 1);
	static struct script slow, fast;
	static struct node n;
	struct node_call call = {.n = &n};

	/* the peers send no keepalives, and a slow machine needs minutes */
	c.timers.hold_s = d.timers.hold_s = oc.hold_time_s = od.hold_time_s = 3600;
	node_begin(&n, OWN_AS, OWN_ID);
	thread_call(n.rib[0], call_originate_many, &call);
	node_peer(&n, 1, &c, policy_accept_all());
	node_peer(&n, 2, &d, policy_accept_all());
	script_connect(&slow, &n, 2, 4096);
	assert_non_null(script_read(&slow, WAIT_MS));
	script_send_open(&slow, &oc);
	assert_non_null(script_read(&slow, WAIT_MS));
	script_send_keepalive(&slow);
	wait_for(node_view(&n, 1).state == FSM_ESTABLISHED);
	script_establish(&fast, &n, 3, &od);
	assert_int_equal(script_read_routes(&fast, -1, NULL), MANY);
	assert_false(node_view(&n, 1).families[FAMILY_IPV4_UNICAST].end_of_rib_sent);
	assert_int_equal(script_read_routes(&slow, -1, NULL), MANY);
	script_close(&slow);
	script_close(&fast);
	wait_for(node_view(&n, 1).state != FSM_ESTABLISHED &&
		 node_view(&n, 2).state != FSM_ESTABLISHED);
	script_establish(&fast, &n, 3, &od); /* while the old state is being freed */
	assert_int_equal(script_read_routes(&fast, -1, NULL), MANY);
	script_close(&fast);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_speakers),
		cmocka_unit_test(test_bad_open),
		cmocka_unit_test(test_no_common_family),
		cmocka_unit_test(test_stranger),
		cmocka_unit_test(test_collision),
		cmocka_unit_test(test_collision_late),
		cmocka_unit_test(test_collision_confirmed),
		cmocka_unit_test(test_collision_passive),
		cmocka_unit_test(test_second_connection),
		cmocka_unit_test(test_hold_timer),
		cmocka_unit_test(test_hold_while_reading_stops),
		cmocka_unit_test(test_treat_as_withdraw),
		cmocka_unit_test(test_no_policy),
		cmocka_unit_test(test_refresh_served),
		cmocka_unit_test(test_refresh_flood),
		cmocka_unit_test(test_refresh_import),
		cmocka_unit_test(test_refresh_stale),
		cmocka_unit_test(test_refresh_export),
		cmocka_unit_test(test_events_without_memory),
		cmocka_unit_test(test_passive_changes),
		cmocka_unit_test(test_operator),
		cmocka_unit_test(test_blocked_peer),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
