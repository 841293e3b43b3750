/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding tables of 64 groups. Destinations without a group are marked in the RIB. Each change of a mark is a journal entry, so that an update group
 * advertises the installed prefixes and no other.
 */
#include "rib/feed/fib_feed.h"

#include "tests/lpm/size.h"
#include "tests/rib/feed_rig.h"

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define GROUPS 64u
#define USUAL 59u /* 4 groups are reserved for the host's own routes, 1 is taken by our address */
#define SLOTS 96u
#define PREFIXES (4 * SLOTS)
#define HOP "192.0.2.1"
#define HOP_V6 "2001:db8:1::2"

/* A consumer of the journal that advertises the installed destinations. */
struct receiver {
	struct journal_cursor *cursor;
	bool has[PREFIXES];
	unsigned count;
	uint64_t entries;
};

static struct feed_rig r;
static struct receiver to;

static void
begin(unsigned shards, uint32_t groups)
{
	feed_rig_init_groups(&r, shards, true, FEED_JOURNAL, FEED_BATCH, groups);
	for (uint16_t peer = 1; peer <= 2; peer++) {
		feed_rig_peer(&r, peer);
		for (unsigned i = 0; i < shards; i++)
			rig_up(&r.rigs[i], peer, RIG_OWN_ASN, peer, false);
	}
	assert_int_equal(feed_rig_connected(&r, V4(192, 0, 2, 254), 24, 0, true), 0);
	assert_int_equal(feed_rig_connected_text(&r, "2001:db8:1::1", 64, 0, true), 0);
	to = (struct receiver){0};
	assert_int_equal(journal_subscribe(shard_journal(r.shards.at[0]), &to.cursor), 0);
}

static void
end(void)
{
	journal_unsubscribe(shard_journal(r.shards.at[0]), to.cursor);
	feed_rig_fini(&r);
}

/* Two prefixes in each of the /24s, a /24 that needs no group, and an IPv6 prefix in another /40. */
static struct prefix
prefix_at(unsigned i)
{
	unsigned slot = i / 4;
	struct prefix p = {.afi = AFI_IPV6, .len = 48};

	if (i % 4 < 2)
		return prefix_from_v4(V4(20, 0, 0, 0) + (slot << 8) + (i % 4) * 128, 25);
	if (i % 4 == 2)
		return prefix_from_v4(V4(20, 0, 0, 0) + (slot << 8), 24);
	p.b[0] = 0x2a;
	p.b[1] = (uint8_t)(slot / 8);
	p.b[2] = (uint8_t)(slot % 8);
	p.b[3] = (uint8_t)slot;
	return p;
}

static int
index_of(const struct prefix *p)
{
	for (unsigned i = 0; i < PREFIXES; i++) {
		struct prefix q = prefix_at(i);

		if (prefix_equal(&q, p))
			return (int)i;
	}
	return -1;
}

static void
receiver_read(void)
{
	struct journal *j = shard_journal(r.shards.at[0]);
	struct journal_entry e[64];
	int n;

	qsbr_online(r.rig.readers, r.reader);
	while ((n = journal_read(j, to.cursor, e, 64)) > 0) {
		for (int k = 0; k < n; k++) {
			struct dest_view view;
			int i = -1;
			bool has;

			if (dest_peek(shard_table(r.shards.at[e[k].shard], e[k].table), e[k].dest,
				    &view))
				i = index_of(&view.prefix);
			if (i < 0)
				continue;
			has = view.paths != NULL && view.paths->eligible > 0 &&
			      view.fib == DEST_INSTALLED;
			to.count += has;
			to.count -= to.has[i];
			to.has[i] = has;
		}
		to.entries += (unsigned)n;
		journal_advance(j, to.cursor, e[n - 1].sequence);
	}
	assert_int_equal(n, 0);
	qsbr_offline(r.rig.readers, r.reader);
}

static void
announce(uint16_t peer, unsigned i)
{
	struct prefix p = prefix_at(i);
	struct ip_addr hop = text_addr(p.afi == AFI_IPV6 ? HOP_V6 : HOP);

	feed_rig_announce_to(&r, peer, &p, &hop, 100u + peer);
}

static void
withdraw(uint16_t peer, unsigned i)
{
	struct prefix p = prefix_at(i);

	feed_rig_withdraw_prefix(&r, peer, &p);
}

/* True if the workers answer with this prefix at the first address of the prefix. */
static bool
is_forwarded(unsigned i)
{
	struct prefix p = prefix_at(i);
	struct ip_addr a = {.afi = p.afi};
	struct answer answer;

	memcpy(a.b, p.b, sizeof(a.b));
	if (p.afi == AFI_IPV4 && p.len == 24)
		return true; /* needs no group */
	answer = feed_rig_lookup_addr(&r, &a);
	return answer.hit && prefix_equal(&answer.prefix, &p);
}

/*
 * `refused.not-installed` counts each destination without room for the peer of the best path: peer
 * 2, with the higher local preference.
 */
static void
assert_counts(const uint8_t announced[PREFIXES])
{
	uint64_t expected[3][FAMILY_COUNT] = {{0}}, counted[REFUSED_CAUSES];

	for (unsigned i = 0; i < PREFIXES; i++) {
		enum family f = i % 4 == 3 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;

		if (announced[i] != 0 && !is_forwarded(i))
			expected[announced[i] >> 2 & 1 ? 2 : 1][f]++;
	}
	for (uint16_t peer = 1; peer <= 2; peer++) {
		for (enum family f = 0; f < FAMILY_COUNT; f++) {
			(void)shards_peer_refused(&r.shards, (struct peer_id){peer}, f, counted);
			assert_int_equal(counted[REFUSED_NOT_INSTALLED], expected[peer][f]);
			assert_true(expected[peer][f] == 0 ||
				    shards_ailing(&r.shards, f, 0) >> peer & 1);
		}
	}
}

/* The receiver has every announced prefix that is in the forwarding tables, and no other. */
static void
assert_receiver(const uint8_t announced[PREFIXES])
{
	receiver_read();
	for (unsigned i = 0; i < PREFIXES; i++) {
		if (to.has[i] != (announced[i] != 0 && is_forwarded(i)))
			fail_msg("prefix %u: advertised %d, announced %d, forwarded %d", i,
				to.has[i], announced[i], is_forwarded(i));
	}
	assert_counts(announced);
}

/* More /24s than groups: the receiver has the installed prefixes, and gets another prefix for each withdrawn one. */
static void
test_not_installed_is_not_advertised(void **state)
{
	uint8_t announced[PREFIXES] = {0};

	(void)state;
	begin(1, GROUPS);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		announced[4 * slot] = 1 << 1;
		announce(1, 4 * slot);
	}
	feed_rig_settle(&r);
	assert_receiver(announced);
	assert_int_equal(to.count, USUAL);
	for (unsigned slot = 0; slot < 10; slot++) {
		announced[4 * slot] = 0;
		withdraw(1, 4 * slot);
		feed_rig_settle(&r);
		assert_receiver(announced);
		assert_int_equal(to.count, USUAL);
	}
	/* another path of a waiting prefix changes only the peer that is counted */
	announce(2, 4 * (SLOTS - 1));
	announced[4 * (SLOTS - 1)] |= 1 << 2;
	feed_rig_settle(&r);
	assert_receiver(announced);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		withdraw(1, 4 * slot);
		withdraw(2, 4 * slot);
		announced[4 * slot] = 0;
	}
	feed_rig_settle(&r);
	assert_receiver(announced);
	assert_int_equal(to.count, 0);
	end();
}

/* While a table is nearly full, the receiver gets no new prefix before the fib thread has installed the prefix. */
static void
test_tight_tables_are_asked_first(void **state)
{
	uint8_t announced[PREFIXES] = {0};

	(void)state;
	begin(1, GROUPS);
	for (unsigned slot = 0; slot < USUAL - 4; slot++) {
		announced[4 * slot] = 1 << 1;
		announce(1, 4 * slot);
	}
	feed_rig_settle(&r);
	assert_receiver(announced);
	for (unsigned slot = USUAL - 4; slot < SLOTS; slot++) {
		announced[4 * slot] = 1 << 1;
		announce(1, 4 * slot);
	}
	/* the shard has applied the records, the fib thread has read no entry yet */
	rig_settle(&r.rig);
	receiver_read();
	assert_int_equal(to.count, USUAL - 4);
	feed_rig_settle(&r);
	assert_receiver(announced);
	assert_int_equal(to.count, USUAL);
	/* a prefix that needs no group does not wait for the answer */
	announce(1, 4 * (SLOTS - 1) + 2);
	rig_settle(&r.rig);
	receiver_read();
	assert_int_equal(to.count, USUAL + 1);
	end();
}

/* Our own network needs no entry in the tables and is advertised; a peer's route of the same prefix waits for a group. */
static void
test_own_network_is_advertised(void **state)
{
	(void)state;
	begin(1, GROUPS);
	for (unsigned slot = 0; slot < SLOTS - 1; slot++)
		announce(1, 4 * slot);
	feed_rig_settle(&r);
	feed_rig_originate(&r, V4(20, 0, SLOTS - 1, 0), 25, 400);
	feed_rig_settle(&r);
	receiver_read();
	assert_true(to.has[4 * (SLOTS - 1)]);
	feed_rig_originate(&r, V4(20, 0, SLOTS - 1, 0), 25, 0);
	announce(1, 4 * (SLOTS - 1));
	feed_rig_settle(&r);
	receiver_read();
	assert_false(to.has[4 * (SLOTS - 1)]);
	end();
}

static uint32_t seed;

static uint32_t
draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void
stream(unsigned shards)
{
	uint8_t announced[PREFIXES] = {0}; /* a bit for each peer */

	begin(shards, GROUPS);
	for (unsigned step = 0; step < 3000; step++) {
		unsigned i = draw(PREFIXES), peer = 1 + draw(2);
		bool fill = step / 500 % 2 == 0;

		if (draw(10) < (fill ? 8u : 3u)) {
			announce((uint16_t)peer, i);
			announced[i] |= (uint8_t)(1u << peer);
		} else {
			withdraw((uint16_t)peer, i);
			announced[i] &= (uint8_t) ~(1u << peer);
		}
		if (draw(20) == 0)
			rig_settle(&r.rigs[draw(shards)]);
		if (draw(50) == 0)
			feed_rig_pump_reports(&r);
		if (draw(50) == 0)
			receiver_read();
		if (draw(200) == 0) {
			feed_rig_settle(&r);
			assert_receiver(announced);
		}
	}
	feed_rig_settle(&r);
	assert_receiver(announced);
	end();
}

static void
test_random_streams(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		seed = i;
		stream(i % 2 == 0 ? 1 : FEED_SHARDS);
	}
}

/* 25,000 prefixes (100,000 in the full size) without room come and go. Journal entries stay proportional: the fib thread does not answer the entries of its own reports. */
static void
test_storm(void **state)
{
	const uint32_t STORM = test_size(25000, 100000);
	struct ip_addr hop = text_addr(HOP);
	uint64_t before;

	(void)state;
	begin(1, GROUPS);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		announce(1, 4 * slot);
	feed_rig_settle(&r);
	receiver_read();
	before = to.entries;
	for (uint32_t i = 0; i < STORM; i++) {
		struct prefix p = prefix_from_v4(V4(30, 0, 0, 0) + (i << 4), 28);

		feed_rig_announce_to(&r, 1, &p, &hop, 100);
	}
	feed_rig_settle(&r);
	receiver_read();
	assert_true(to.entries - before <= 2 * STORM);
	before = to.entries;
	for (unsigned slot = 0; slot < SLOTS; slot++)
		withdraw(1, 4 * slot);
	for (uint32_t i = 0; i < STORM; i++) {
		struct prefix p = prefix_from_v4(V4(30, 0, 0, 0) + (i << 4), 28);

		feed_rig_withdraw_prefix(&r, 1, &p);
		if (i % 20000 == 0) {
			/* settle: tombstones that no consumer has passed would block the shard */
			feed_rig_settle(&r);
			receiver_read();
		}
	}
	feed_rig_settle(&r);
	receiver_read();
	/* some of the prefixes get a group before their withdrawal */
	assert_true(to.entries - before <= 3 * STORM);
	assert_int_equal(to.count, 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_installed_is_not_advertised),
		cmocka_unit_test(test_tight_tables_are_asked_first),
		cmocka_unit_test(test_own_network_is_advertised),
		cmocka_unit_test(test_random_streams),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
