/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several shards behind one session thread, each on its own thread: a peer sends changes in its
 * chosen order, and another peer receives them in an order that never uncovers an address which is
 * always covered, although the covering prefixes belong to several shards (docs/decisions/0006).
 */
#include "control/session/session.h"

#include "tests/control/own_net.h"
#include "tests/control/session_rig.h"
#include "tests/lpm/rng.h"

#define OWN_AS 64512u
#define OWN_ID 0xc0000201u
#define SAYS 65001u
#define HEARS 65002u
#define SHARDS 4u
#define LENS 25u /* 0 to 24 bits of each address */
#define ADDRESSES 3u
#define CHANGES 3000u
#define V4 FAMILY_IPV4_UNICAST

static struct node n;
static struct script says, hears;

/* In different ranges of 12 bits, with the longest possible common part. */
static const uint32_t address[ADDRESSES] = {0x0a000000u, 0x0a100000u, 0x0a800000u};

static struct prefix
prefix_at(unsigned i)
{
	struct ip_addr a = addr_from_v4(address[i / LENS]);

	return prefix_from_addr(&a, (uint8_t)(i % LENS));
}

/* A table as flags; equal prefixes share a flag. */
struct table {
	bool have[LENS * ADDRESSES];
};

static void
table_put(struct table *t, const struct prefix *p, bool present)
{
	for (unsigned i = 0; i < LENS * ADDRESSES; i++) {
		struct prefix q = prefix_at(i);

		if (prefix_equal(&q, p))
			t->have[i] = present;
	}
}

static bool
table_covers(const struct table *t)
{
	for (unsigned a = 0; a < ADDRESSES; a++) {
		bool covered = false;

		for (unsigned len = 0; len < LENS; len++)
			covered |= t->have[a * LENS + len];
		if (!covered)
			return false;
	}
	return true;
}

/* ---- the receiver ---- */

static struct heard {
	struct table table;
	bool complete, ended; /* complete: the first cover was complete */
	unsigned holes, updates;
} heard;

static void
hear_field(const struct bgp_nlri_field *f, bool present)
{
	struct rd r = f->nlri;
	struct nlri nlri;

	while (nlri_read(&r, V4, false, &nlri)) {
		heard.ended |= nlri.prefix.len == 32;
		table_put(&heard.table, &nlri.prefix, present);
	}
}

/* Reads until the /32 sent last. */
static void *
hear(void *arg)
{
	static union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	struct bgp_update_options o = {.as4 = true, .families = 1, .external = true};
	const uint8_t *p;

	(void)arg;
	while (!heard.ended && (p = script_next(&hears)) != NULL) {
		struct bgp_update u;

		if (hears.type != BGP_UPDATE)
			break;
		bgp_update_decode(p, hears.len, &o, &attrs.a, &u);
		for (unsigned i = 0; i < u.withdrawn_count; i++)
			hear_field(&u.withdrawn[i], false);
		for (unsigned i = 0; i < u.announced_count; i++)
			hear_field(&u.announced[i], true);
		heard.updates++;
		heard.complete |= table_covers(&heard.table);
		heard.holes += heard.complete && !table_covers(&heard.table);
	}
	return NULL;
}

/* ---- the sender ---- */

static size_t
say(uint8_t *msg, const struct attr_set *attrs, const struct prefix *p)
{
	struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	struct update_packer u;

	assert_true(update_packer_begin(&u, V4, attrs, &o, msg, BGP_MSG_MAX));
	assert_true(update_packer_add(&u, p, 0));
	return update_packer_finish(&u);
}

/*
 * Prefers a present prefix: then most addresses are covered by one or two prefixes, and a hole is
 * visible.
 */
static unsigned
pick(const struct table *t, uint64_t *rng)
{
	unsigned i;

	do
		i = (unsigned)(splitmix64(rng) >> 32) % (LENS * ADDRESSES);
	while (!t->have[i] && splitmix64(rng) >> 60 != 0);
	return i;
}

/* Writes one change that leaves all addresses covered into `msg`. */
static size_t
change(struct table *t, uint64_t *rng, const struct attr_set *attrs, uint8_t *msg)
{
	unsigned i = pick(t, rng);
	struct prefix p = prefix_at(i);
	bool present = !t->have[i];

	table_put(t, &p, present);
	if (!present && !table_covers(t)) {
		table_put(t, &p, true);
		present = true; /* announce again instead */
	}
	return say(msg, present ? attrs : NULL, &p);
}

/*
 * All messages were read, and the changes of running shards advertised; stopped shards have not
 * started. Then stops other shards.
 */
static void
stand_still(uint64_t updates, unsigned round, uint64_t *rng)
{
	wait_for(node_view(&n, 1).updates_received == updates);
	for (unsigned i = 0; i < 3 * SHARDS; i++)
		thread_call(n.rib[i % SHARDS], nothing, NULL);
	for (unsigned i = 0; i < 3; i++)
		thread_call(n.session, nothing, NULL);
	/* sometimes none, sometimes a stopped shard holds all batches */
	node_pause_shards(
		&n, round % 8 == 0 ? 0 : (uint32_t)(splitmix64(rng) >> 32) % (1u << SHARDS));
}

/* `uneven`: shards stop in turn. */
static void
say_all(struct table *t, bool uneven)
{
	static uint8_t room[65536];
	struct prefix last = prefix_from_v4(0xc0000200u, 32), all = prefix_from_v4(0, 0);
	union script_attrs attrs;
	unsigned rounds = 0;
	uint64_t rng = 41;
	size_t len;

	script_attrs(&attrs, SAYS, 0xc0000263u);
	table_put(t, &all, true);
	len = say(room, &attrs.a, &all);
	for (unsigned i = 0; i < CHANGES; i++) {
		if (len + BGP_MSG_MAX > sizeof(room) ||
			splitmix64(&rng) >> (uneven ? 60 : 56) == 0) {
			script_send(&says, room, len);
			len = 0;
			if (uneven)
				stand_still(i + 1, rounds++, &rng);
		}
		len += change(t, &rng, &attrs.a, room + len);
	}
	script_send(&says, room, len);
	node_pause_shards(&n, 0);
	/* The last prefix of the stream may not be the last in other shards. */
	wait_for(node_view(&n, 1).updates_received == CHANGES + 1);
	len = say(room, &attrs.a, &last);
	script_send(&says, room, len);
}

static unsigned
table_count(const struct table *t)
{
	unsigned count = 0;

	for (unsigned i = 0; i < LENS * ADDRESSES; i++) {
		struct prefix p = prefix_at(i);
		bool first = true;

		for (unsigned k = 0; k < i && first; k++) {
			struct prefix q = prefix_at(k);

			first = !prefix_equal(&p, &q);
		}
		count += first && t->have[i];
	}
	return count;
}

static uint64_t
stored(void)
{
	struct adj_rib_in_counts c;

	shards_peer_counts(&n.shards, (struct peer_id){1}, V4, &c);
	return c.received;
}

static void
begin(void)
{
	struct config_peer a = peer_config(SAYS, OWN_AS, 2), b = peer_config(HEARS, OWN_AS, 3);
	struct bgp_open_options oa = script_open(SAYS, 0xc0000302u),
				ob = script_open(HEARS, 0xc0000303u);

	memset(&heard, 0, sizeof(heard));
	node_shards = SHARDS;
	node_begin(&n, OWN_AS, OWN_ID);
	node_peer(&n, 1, &a, policy_accept_all());
	node_peer(&n, 2, &b, policy_accept_all());
	script_establish(&says, &n, 2, &oa);
	script_establish(&hears, &n, 3, &ob);
	(void)script_read_routes(&hears, -1, NULL);
}

static void
end(void)
{
	script_close(&says);
	script_close(&hears);
	node_end(&n);
	node_shards = 1;
}

/*
 * The prefixes belong to all shards; a covering prefix belongs to another shard than some covered
 * prefixes.
 */
static void
test_ranges(void **state)
{
	bool used[SHARDS] = {false};
	struct shards s = {.count = SHARDS};

	for (unsigned i = 0; i < LENS * ADDRESSES; i++) {
		struct prefix p = prefix_at(i);

		used[shards_of(&s, SHARDS_BY_NETWORK, &p)] = true;
		assert_true(!shards_wide(SHARDS_BY_NETWORK, &p) ||
			    shards_of(&s, SHARDS_BY_NETWORK, &p) == 0);
	}
	assert_true(used[0] && used[1] + used[2] + used[3] >= 2);
}

/* Sends one change, waits for its reception, and gives all shards some turns. */
static void
say_one(const struct attr_set *attrs, const char *prefix)
{
	uint64_t before = node_view(&n, 1).updates_received;

	script_send_prefix(&says, V4, attrs, prefix);
	wait_for(node_view(&n, 1).updates_received == before + 1);
	for (unsigned i = 0; i < 5 * SHARDS; i++) {
		node_wake_one(&n, i % SHARDS);
		thread_call(n.rib[i % SHARDS], nothing, NULL);
		breathe();
	}
}

/*
 * A withdrawal in a shard waits for earlier announcements in other shards: a wide prefix waits for
 * the others, and the others wait for the wide prefix.
 */
static void
test_waits(void **state)
{
	const char *narrow = "10.16.0.0/16", *wide = "10.0.0.0/8";
	const char *wider = "10.0.0.0/9", *below = "10.16.1.0/24", *last = "10.16.2.0/24";
	union script_attrs attrs;
	struct prefix p;
	uint32_t others;

	begin();
	script_attrs(&attrs, SAYS, 0xc0000263u);
	assert_int_equal(prefix_parse(narrow, &p), 0);
	others = 1u << shards_of(&n.shards, SHARDS_BY_NETWORK, &p);
	assert_int_not_equal(others, 1);
	say_one(&attrs.a, narrow);
	wait_for(node_paths(&n, 0x0a100000u, 16) == 1);

	node_pause_shards(&n, 1);
	say_one(&attrs.a, wide);
	say_one(NULL, narrow);
	assert_int_equal(node_paths(&n, 0x0a100000u, 16), 1);
	node_pause_shards(&n, 0);
	wait_for(node_paths(&n, 0x0a100000u, 16) == 0);
	assert_int_equal(node_paths(&n, 0x0a000000u, 8), 1);

	node_pause_shards(&n, others);
	say_one(&attrs.a, narrow);
	say_one(NULL, wide);
	assert_int_equal(node_paths(&n, 0x0a000000u, 8), 1);
	node_pause_shards(&n, 0);
	wait_for(node_paths(&n, 0x0a000000u, 8) == 0);
	assert_int_equal(node_paths(&n, 0x0a100000u, 16), 1);

	/*
	 * an announcement waits for no other change: a covered prefix does not wait for an earlier
	 * wide prefix, nor a wide prefix for covered prefixes
	 */
	node_pause_shards(&n, 1);
	say_one(&attrs.a, wide);
	say_one(&attrs.a, below);
	wait_for(node_paths(&n, 0x0a100100u, 24) == 1);
	assert_int_equal(node_paths(&n, 0x0a000000u, 8), 0);
	node_pause_shards(&n, others);
	wait_for(node_paths(&n, 0x0a000000u, 8) == 1);
	say_one(&attrs.a, last);
	say_one(&attrs.a, wider);
	wait_for(node_paths(&n, 0x0a000000u, 9) == 1);
	assert_int_equal(node_paths(&n, 0x0a100200u, 24), 0);
	node_pause_shards(&n, 0);
	wait_for(node_paths(&n, 0x0a100200u, 24) == 1);
	end();
}

#define PARTS 16u /* prefixes of an UPDATE, in ranges of their own */
#define WHOLES 2000u

/* The number of UPDATEs that the receiver gets for WHOLES UPDATEs of PARTS prefixes. */
static unsigned
parts(void)
{
	static uint8_t room[65536];
	unsigned updates = 0, prefixes = 0;
	size_t len = 0;

	node_journal = 1u << 16;
	begin();
	for (unsigned i = 0; i < WHOLES; i++) {
		struct bgp_encode_options o = {.as4 = true, .send_communities = true};
		union script_attrs attrs;
		struct update_packer u;
		uint8_t *c;

		script_attrs(&attrs, SAYS, 0xc0000263u);
		c = attrs.a.var + attrs.a.as_path_len;
		c[0] = 0xfd, c[1] = 0xe8, c[2] = (uint8_t)(i >> 8), c[3] = (uint8_t)i;
		attrs.a.community_count = 1;
		assert_true(
			update_packer_begin(&u, V4, &attrs.a, &o, room + len, sizeof(room) - len));
		for (unsigned k = 0; k < PARTS; k++) {
			struct prefix p = prefix_from_v4(0x10000000u + (k << 20) + (i << 8), 24);

			assert_true(update_packer_add(&u, &p, 0));
		}
		len += update_packer_finish(&u);
		if (len + BGP_MSG_MAX > sizeof(room) || i + 1 == WHOLES) {
			script_send(&says, room, len);
			len = 0;
		}
	}
	while (prefixes < WHOLES * PARTS) {
		const uint8_t *p = script_next(&hears);
		struct bgp_update u;

		(void)script_decode(&hears, p, 1, &u);
		for (unsigned i = 0; i < u.announced_count; i++)
			prefixes += script_prefixes(&u.announced[i]);
		updates++;
	}
	print_message("%u UPDATEs for %u\n", updates, WHOLES);
	end();
	node_journal = 4096;
	return updates;
}

/*
 * Several shards decide the prefixes of an UPDATE; the receiver gets a single UPDATE. The session does
 * not wait for a shard without CPU for 10 ms; such a delay does not occur five times in a row.
 */
static void
test_parts(void **state)
{
	unsigned times = 1;

	while (parts() >= WHOLES * 3 / 2) {
#ifdef __SANITIZE_THREAD__ /* too slow for 10 ms */
		break;
#endif
		assert_true(++times <= 5);
	}
}

/* Shards whose ranges a wide prefix covers, compared with a check of each range. */
static void
under_compare(enum shards_by by, const char *const *wide, const unsigned bits[2])
{
	uint64_t rng = 7;

	for (unsigned count = 2; count <= SHARDS_MAX; count++) {
		struct shards s = {.count = count};

		for (unsigned i = 0; wide[i] != NULL; i++) {
			uint32_t under, seen = 0;
			struct prefix p;

			assert_int_equal(prefix_parse(wide[i], &p), 0);
			assert_true(shards_wide(by, &p));
			under = shards_under(&s, by, &p);
			assert_int_equal(under >> count, 0);
			assert_int_equal(under & 1, 0);
			for (unsigned k = 0; k < 2000; k++) {
				struct prefix q = p;

				q.len = (uint8_t)bits[p.afi != AFI_IPV4];
				for (unsigned b = p.len; b < q.len; b++)
					if (splitmix64(&rng) >> 63)
						q.b[b / 8] |= (uint8_t)(0x80 >> b % 8);
				seen |= 1u << shards_of(&s, by, &q);
			}
			assert_int_equal(seen & ~1u, under);
		}
	}
}

static void
test_under(void **state)
{
	static const char *const network[] = {"10.0.0.0/11", "10.0.0.0/8", "0.0.0.0/3", "::/0",
		"2001:800::/21", "2001::/16", NULL},
				 *const site[] = {"10.1.32.0/19", "10.1.0.0/16", "10.0.0.0/8",
					 "::/0", "2001:db8:1000::/37", "2001:db8::/32", NULL};

	under_compare(SHARDS_BY_NETWORK, network, (const unsigned[]){12, 24});
	under_compare(SHARDS_BY_SITE, site, (const unsigned[]){20, 40});
}

/* Customers mostly use 10.0.0.0/8: their prefixes are in all shards, equally. */
static void
test_sites(void **state)
{
	unsigned used[SHARDS] = {0};
	struct shards s = {.count = SHARDS};

	for (unsigned i = 0; i < 4096; i++) {
		struct prefix p = prefix_from_v4(0x0a000000u + (i << 12), 24);

		used[shards_of(&s, SHARDS_BY_SITE, &p)]++;
	}
	for (unsigned i = 0; i < SHARDS; i++)
		assert_in_range(used[i], 4096 / SHARDS * 9 / 10, 4096 / SHARDS * 11 / 10);
}

static void
no_hole(bool uneven)
{
	struct table t = {0};
	pthread_t thread;

	begin();
	assert_int_equal(pthread_create(&thread, NULL, hear, NULL), 0);
	say_all(&t, uneven);
	wait_for(stored() == table_count(&t) + 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(heard.ended);
	print_message("%u changes, %u messages heard\n", CHANGES, heard.updates);
	assert_int_equal(heard.holes, 0);
	wait_for(node_view(&n, 2).families[V4].advertised == table_count(&t) + 1);
	end();
}

static void
test_no_hole(void **state)
{
	no_hole(false);
}

static void
test_no_hole_uneven(void **state)
{
	no_hole(true);
}

static void
say_every(struct table *t, unsigned step)
{
	uint8_t msg[BGP_MSG_MAX];
	union script_attrs attrs;

	script_attrs(&attrs, SAYS, 0xc0000263u);
	for (unsigned i = 0; i < LENS * ADDRESSES; i += step) {
		struct prefix p = prefix_at(i);

		table_put(t, &p, true);
		script_send(&says, msg, say(msg, &attrs.a, &p));
	}
}

/*
 * BoRR and EoRR reach all shards, and each shard sweeps its stale routes; the end of the session
 * removes all routes.
 */
static void
test_refresh(void **state)
{
	struct table t = {0};

	begin();
	script_send_end_of_rib(&says, V4);
	say_every(&t, 1);
	wait_for(stored() == table_count(&t));
	script_send_refresh(&says, REFRESH_BEGIN);
	memset(&t, 0, sizeof(t));
	say_every(&t, 2);
	script_send_refresh(&says, REFRESH_END);
	wait_for(stored() == table_count(&t));
	wait_for(node_view(&n, 2).families[V4].advertised == table_count(&t));
	for (unsigned i = 0; i < SHARDS; i++) {
		struct adj_rib_in_counts c;

		shard_peer_counts(n.shards.at[i], (struct peer_id){1}, V4, &c);
		assert_int_equal(c.eorr_received, 1);
	}
	script_send_notification(&says, 6, 4, NULL, 0); /* Cease: no route is retained */
	wait_for(stored() == 0);
	wait_for(node_view(&n, 2).families[V4].advertised == 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_under),
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_no_hole),
		cmocka_unit_test(test_no_hole_uneven),
		cmocka_unit_test(test_refresh),
	};

	if (!own_net_ports())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
