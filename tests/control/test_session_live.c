/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Live changes beside whole tables: a shard has few prefixes of a table in its queue, and a peer
 * that reads slowly gets a live change before most of a table.
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define TABLE_AS 65001u
#define READS_AS 65002u
#define LIVE_AS 65003u
#define NEXT_HOP 0xc0000263u
#define LIVE 0xc0000200u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script table, reads, live;

static void
establish(struct script *s, unsigned id, uint32_t asn)
{
	struct config_peer c = peer_config(asn, OWN_AS, id + 1);
	struct bgp_open_options o = script_open(asn, 0xc0000301u + id);

	c.families[V4].next_hop_unchanged = true; /* another update group than the receiver */
	node_peer(&n, id, &c, policy_accept_all());
	script_establish(s, &n, id + 1, &o);
	wait_for(node_view(&n, id).state == FSM_ESTABLISHED);
}

/* Sends UPDATE number `i`, with attributes of its own. */
static size_t
table_update(uint8_t *msg, unsigned i, unsigned prefixes)
{
	union script_attrs attrs;
	uint8_t *c;

	script_attrs(&attrs, TABLE_AS, NEXT_HOP);
	c = attrs.a.var + attrs.a.as_path_len;
	c[0] = 0xfd, c[1] = 0xe8, c[2] = (uint8_t)(i >> 8), c[3] = (uint8_t)i;
	attrs.a.community_count = 1;
	return script_update(msg, &attrs.a, 0x0a000000u + i * prefixes * 256, prefixes);
}

static void
table_send(unsigned updates, unsigned prefixes)
{
	static uint8_t room[65536];
	size_t len = 0;

	for (unsigned i = 0; i < updates; i++) {
		len += table_update(room + len, i, prefixes);
		if (len + BGP_MSG_MAX > sizeof(room) || i + 1 == updates) {
			script_send(&table, room, len);
			len = 0;
		}
	}
}

#define RUN 8192u /* of one shard */
#define RUN_MIXED 256u
#define EACH 100u

/*
 * The number of UPDATEs of a peer when the session reads no more of them: it reads at least one in
 * each turn, and each call waits for a turn.
 */
static uint64_t
updates_at_rest(unsigned id)
{
	uint64_t seen;

	do {
		seen = node_view(&n, id).updates_received;
		for (unsigned i = 0; i < 20; i++)
			thread_call(n.session, nothing, NULL);
	} while (seen != node_view(&n, id).updates_received);
	return seen;
}

/*
 * The shard stands still: the session stops reading after three runs. On a slow machine the batches
 * end sooner, because each turn hands over one: 16 batches, of which five are spares.
 */
static void
test_runs(void **state)
{
	const unsigned updates = 400, most = (3 * RUN + EACH - 1) / EACH;
	const unsigned least = 3 * RUN_MIXED / EACH;
	uint64_t seen;

	node_begin(&n, OWN_AS, OWN_ID);
	establish(&table, 1, TABLE_AS);
	atomic_store(&n.paused_shards, 1);
	table_send(updates, EACH);
	wait_for(node_view(&n, 1).updates_received > least);
	seen = updates_at_rest(1);
	assert_in_range(seen, least + 1, most);
	atomic_store(&n.paused_shards, 0);
	node_wake_shards(&n);
	wait_for(node_view(&n, 1).updates_received == updates);
	wait_for(node_paths(&n, 0x0a000000u + (updates * EACH - 1) * 256, 24) == 1);
	script_close(&table);
	node_end(&n);
}

/* The shard stands still, and the table of a peer waits: the session still reads live changes of the other peer, up to a limit. */
static void
test_live_is_read(void **state)
{
	const unsigned updates = 400, changes = 10000;
	uint64_t seen;
	union script_attrs attrs;

	node_begin(&n, OWN_AS, OWN_ID);
	establish(&live, 3, LIVE_AS);
	script_send_end_of_rib(&live, V4);
	establish(&table, 1, TABLE_AS);
	script_attrs(&attrs, LIVE_AS, NEXT_HOP);
	script_send_update(&live, &attrs.a, LIVE, 1);
	wait_for(node_paths(&n, LIVE, 24) == 1);
	atomic_store(&n.paused_shards, 1);
	table_send(updates, EACH);
	wait_for(node_view(&n, 1).updates_received >= RUN_MIXED / EACH);
	assert_true(updates_at_rest(1) < updates);
	script_send_update(&live, &attrs.a, LIVE, 1);
	wait_for(node_view(&n, 3).updates_received == 3);
	for (unsigned i = 0; i < changes; i++)
		script_send_update(&live, &attrs.a, LIVE + 256 * i, 1);
	seen = updates_at_rest(3);
	assert_true(seen < 3 + changes);
	atomic_store(&n.paused_shards, 0);
	node_wake_shards(&n);
	wait_for(node_view(&n, 1).updates_received == updates &&
		 node_view(&n, 3).updates_received == 3 + changes);
	wait_for(node_paths(&n, LIVE + 256 * (changes - 1), 24) == 1);
	script_close(&table);
	script_close(&live);
	node_end(&n);
}

#define ROUTES 30000u
/* In the socket, in the output, and in the stream. */
#define WAITING (400u << 10)

/* Reads until a prefix of the length and address; returns the octets up to there. */
static size_t
read_until(uint32_t addr, unsigned *announced)
{
	size_t octets = 0;
	bool found = false;

	while (!found) {
		const uint8_t *p = script_next(&reads);
		struct bgp_update u;

		assert_non_null(p);
		(void)script_decode(&reads, p, 1, &u);
		octets += reads.len;
		for (unsigned i = 0; i < u.announced_count; i++) {
			struct nlri nlri;

			while (nlri_read(&u.announced[i].nlri, V4, false, &nlri)) {
				found |= prefix_v4(&nlri.prefix) == addr;
				(*announced)++;
			}
		}
	}
	return octets;
}

/* The receiver reads nothing until the journal has the whole table and then the live change. */
static void
test_overtakes(void **state)
{
	struct config_peer c = peer_config(READS_AS, OWN_AS, 3);
	struct bgp_open_options o = script_open(READS_AS, 0xc0000303u);
	union script_attrs attrs;
	unsigned announced = 0;
	size_t octets;

	node_journal = 1u << 16;
	node_begin(&n, OWN_AS, OWN_ID);
	establish(&live, 3, LIVE_AS);
	script_send_end_of_rib(&live, V4);
	node_peer(&n, 2, &c, policy_accept_all());
	script_connect(&reads, &n, 3, 4096);
	assert_non_null(script_read(&reads, WAIT_MS));
	script_send_open(&reads, &o);
	assert_non_null(script_read(&reads, WAIT_MS));
	script_send_keepalive(&reads);
	(void)script_read_routes(&reads, -1, NULL);

	establish(&table, 1, TABLE_AS);
	table_send(ROUTES, 1);
	wait_for(node_paths(&n, 0x0a000000u + (ROUTES - 1) * 256, 24) == 1);
	script_attrs(&attrs, LIVE_AS, NEXT_HOP);
	script_send_update(&live, &attrs.a, LIVE, 1);
	wait_for(node_paths(&n, LIVE, 24) == 1);

	octets = read_until(LIVE, &announced);
	print_message("%zu octets, %u prefixes before the live one\n", octets, announced);
	assert_true(octets < WAITING);
	if (announced < ROUTES + 1)
		octets += read_until(0x0a000000u + (ROUTES - 1) * 256, &announced);
	assert_int_equal(announced, ROUTES + 1);
	assert_true(octets > 4 * WAITING);
	script_close(&table);
	script_close(&reads);
	script_close(&live);
	node_end(&n);
}

#ifdef __SANITIZE_THREAD__ /* ThreadSanitizer is ten times slower */
#define GROUPS 4u
#define MANY 160000u
#else
#define GROUPS 16u
#define MANY 240000u
#endif
/* Eight times the 16,384 prefixes that may wait for a shard; keeld's ring has 64 times as many entries. */
#define RING (1u << 17)
#define FIRST_GROUP 10u

static struct script group[GROUPS];

/* Receivers with an AS of ours for each: update groups of their own. */
static void
groups_establish(void)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		unsigned id = FIRST_GROUP + i;
		struct config_peer c = peer_config(READS_AS + 10 + i, OWN_AS, id + 1);
		struct bgp_open_options o = script_open(READS_AS + 10 + i, 0xc0000301u + id);

		c.local_as = 65100 + i;
		o.hold_time_s = 0; /* no KEEPALIVEs */
		node_peer(&n, id, &c, policy_accept_all());
		script_establish(&group[i], &n, id + 1, &o);
		wait_for(node_view(&n, id).state == FSM_ESTABLISHED);
	}
}

/* Reads the sockets of the receivers, after a wait for octets, or with `sending` for room in the socket of the table. */
static void
groups_read(bool sending)
{
	static uint8_t room[1u << 20];
	struct pollfd p[GROUPS + 1];

	for (unsigned i = 0; i < GROUPS; i++)
		p[i] = (struct pollfd){.fd = group[i].fd, .events = POLLIN};
	p[GROUPS] = (struct pollfd){.fd = table.fd, .events = sending ? POLLOUT : 0};
	(void)poll(p, GROUPS + 1, 10);
	for (unsigned i = 0; i < GROUPS; i++)
		if (p[i].revents != 0)
			assert_true(recv(group[i].fd, room, sizeof(room), MSG_DONTWAIT) > 0);
}

static bool
groups_have(unsigned routes)
{
	for (unsigned i = 0; i < GROUPS; i++)
		if (node_view(&n, FIRST_GROUP + i).families[V4].advertised < routes)
			return false;
	return true;
}

/* A peer sends a table larger than the journal, faster than groups can send the routes. The receivers read all the time: the journal laps no group. */
static void
test_input_waits_for_groups(void **state)
{
	static uint8_t table_of[MANY * 80];
	size_t len = 0, sent = 0;

	(void)state;
	node_journal = RING;
	node_begin(&n, OWN_AS, OWN_ID);
	groups_establish();
	establish(&table, 1, TABLE_AS);
	for (unsigned i = 0; i < MANY; i++) {
		assert_true(len + BGP_MSG_MAX <= sizeof(table_of));
		len += table_update(table_of + len, i, 1);
	}
	while (sent < len) {
		ssize_t got =
			send(table.fd, table_of + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		assert_true(got > 0 || (got < 0 && errno == EAGAIN));
		sent += got > 0 ? (size_t)got : 0;
		groups_read(true);
	}
	while (!groups_have(MANY))
		groups_read(false);
	for (unsigned i = 0; i < GROUPS; i++) {
		assert_int_equal(node_view(&n, FIRST_GROUP + i).families[V4].group.lapped, 0);
		script_close(&group[i]);
	}
	script_close(&table);
	node_end(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_live_is_read),
		cmocka_unit_test(test_overtakes),
		cmocka_unit_test(test_input_waits_for_groups),
	};

	role_enter_main();
	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
