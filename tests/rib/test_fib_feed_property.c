/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random streams against a model that knows no order: what is announced, what is reachable, what the host has. Once all has drained every lookup gives
 * the model's answer and the audit finds nothing. On the way, as long as the stream never leaves one of the watched addresses without a
 * usable route, no generation does.
 */
#include "rib/fib_feed.h"

#include "tests/rib/feed_rig.h"

#ifdef KEEL_SANITIZED
#define STREAMS 12
#else
#define STREAMS 50
#endif
#define STEPS 2500

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define PEERS 4 /* 1..4 */
#define HOPS 6
#define SUBNETS 7
#define NEIGHBORS 10
#define PREFIXES_MAX 64

/* Those below them, and their edges, are where the routes are. */
static const uint32_t watched[] = {V4(10, 1, 2, 5), V4(10, 1, 200, 7), V4(192, 0, 2, 9),
	V4(192, 0, 2, 130), V4(198, 51, 100, 1)};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))
static const uint8_t lens[] = {0, 7, 8, 12, 16, 20, 22, 24, 25, 28, 30, 32};

/* The last one is never reachable, the one before nearly always. */
static const uint32_t hop_addr[HOPS] = {V4(192, 0, 2, 1), V4(192, 0, 2, 129), V4(198, 51, 100, 1),
	V4(198, 51, 100, 2), V4(203, 0, 113, 1), V4(100, 64, 0, 1)};

static const struct {
	uint32_t local;
	uint8_t len;
	uint16_t port;
} subnet[SUBNETS] = {
	{V4(203, 0, 113, 254), 24, 2}, /* the first one is left alone more often */
	{V4(192, 0, 2, 254), 24, 0}, {V4(192, 0, 2, 253), 24, 0}, /* a second address */
	{V4(192, 0, 2, 252), 24, 4}, /* the same subnet on another port */
	{V4(192, 0, 2, 200), 25, 3}, /* a longer one */
	{V4(198, 51, 100, 254), 24, 1},
	{V4(198, 51, 100, 1), 32, 1}, /* one of the next hops becomes ours */
};

static const struct {
	uint32_t addr;
	uint16_t port;
} neighbor[NEIGHBORS] = {
	{V4(192, 0, 2, 1), 0},
	{V4(192, 0, 2, 1), 4},
	{V4(192, 0, 2, 129), 0},
	{V4(192, 0, 2, 129), 3},
	{V4(198, 51, 100, 1), 1},
	{V4(198, 51, 100, 2), 1},
	{V4(203, 0, 113, 1), 2},
	{V4(192, 0, 2, 9), 0}, /* no next hop */
	{V4(192, 0, 2, 254), 1}, /* answers for our address */
	{V4(10, 1, 2, 5), 2},
};

struct model_path {
	bool there;
	unsigned hop;
	uint32_t pref;
};

struct model {
	struct feed_rig r;
	struct prefix prefix[PREFIXES_MAX];
	unsigned prefixes;
	bool up[PEERS + 1];
	struct model_path path[PEERS + 1][PREFIXES_MAX];
	bool ours[PREFIXES_MAX];
	unsigned subnet_since[SUBNETS]; /* 0: down; else when it came */
	unsigned neighbor_since[NEIGHBORS];
	uint8_t neighbor_mac[NEIGHBORS]; /* 0: not up */
	bool known[HOPS]; /* the shard has decided with what it was told of it last */
	unsigned clock;
	uint64_t generation;
	/* Half of the streams keep to the edge: few prefixes, and covers are withdrawn as soon as they may be. */
	bool tight;
	unsigned watch_count;
};

static struct model m;
static uint64_t seed, rng_state;
static unsigned step;

static unsigned
below(unsigned n)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ (z >> 31)) % n);
}

/* ---- the model ---- */

static struct prefix
subnet_prefix(unsigned i)
{
	struct ip_addr a = addr_from_v4(subnet[i].local);

	return prefix_from_addr(&a, subnet[i].len);
}

/* -1: not reachable. RFC 4271 5.1.3 */
static int
model_port(uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);
	int best = -1;

	for (unsigned i = 0; i < SUBNETS; i++) {
		struct prefix p = subnet_prefix(i);

		if (m.subnet_since[i] == 0)
			continue;
		if (subnet[i].local == addr)
			return -1;
		if (!prefix_contains(&p, &a))
			continue;
		if (best < 0 || subnet[i].len > subnet[best].len ||
			(subnet[i].len == subnet[best].len &&
				m.subnet_since[i] < m.subnet_since[best]))
			best = (int)i;
	}
	return best < 0 ? -1 : subnet[best].port;
}

static const struct model_path *
model_best(unsigned prefix)
{
	const struct model_path *best = NULL;

	for (unsigned p = 1; p <= PEERS && !m.ours[prefix]; p++) {
		const struct model_path *x = &m.path[p][prefix];

		if (m.up[p] && x->there && model_port(hop_addr[x->hop]) >= 0 &&
			(best == NULL || x->pref > best->pref))
			best = x;
	}
	return best;
}

/* The host's own route of exactly this prefix. */
static bool
model_local(const struct prefix *p, struct answer *out)
{
	unsigned rank = 0, since = 0;

	for (unsigned i = 0; i < SUBNETS; i++) {
		struct ip_addr a = addr_from_v4(subnet[i].local);
		struct prefix sub = subnet_prefix(i), host = prefix_from_addr(&a, 32);

		if (m.subnet_since[i] == 0)
			continue;
		if (prefix_equal(p, &host)) {
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_PUNT,
				.port = PORT_NONE};
			return true;
		}
		if (prefix_equal(p, &sub) && rank < 2 && (rank == 0 || m.subnet_since[i] < since)) {
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_GLEAN,
				.port = subnet[i].port};
			rank = 1;
			since = m.subnet_since[i];
		}
	}
	for (unsigned i = 0; i < NEIGHBORS; i++) {
		struct ip_addr a = addr_from_v4(neighbor[i].addr);
		struct prefix host = prefix_from_addr(&a, 32);

		if (m.neighbor_since[i] == 0 || !prefix_equal(p, &host) ||
			(rank == 2 && m.neighbor_since[i] < since))
			continue;
		*out = (struct answer){.hit = true,
			.prefix = *p,
			.kind = PATH_LIST_FORWARD,
			.port = neighbor[i].port,
			.next_hop = a};
		rank = 2;
		since = m.neighbor_since[i];
	}
	return rank > 0;
}

static struct answer
model_answer(uint32_t addr)
{
	struct ip_addr a = addr_from_v4(addr);
	struct answer out = {0};

	for (int len = 32; len >= 0; len--) {
		struct prefix p = prefix_from_addr(&a, (uint8_t)len);

		if (model_local(&p, &out))
			return out;
		for (unsigned i = 0; i < m.prefixes; i++) {
			const struct model_path *best;

			if (!prefix_equal(&m.prefix[i], &p) || (best = model_best(i)) == NULL)
				continue;
			return (struct answer){.hit = true,
				.prefix = p,
				.kind = PATH_LIST_FORWARD,
				.port = (uint16_t)model_port(hop_addr[best->hop]),
				.next_hop = addr_from_v4(hop_addr[best->hop])};
		}
	}
	return out;
}

/*
 * Does each watched address have a route that the RIB is sure of? That its next hop is reachable is not enough: the shard must have
 * heard of it. Routes of the host don't count: they come and go as they like.
 */
static bool
model_covered(void)
{
	for (unsigned w = 0; w < m.watch_count; w++) {
		struct ip_addr a = addr_from_v4(watched[w]);
		bool covered = false;

		for (unsigned i = 0; i < m.prefixes && !covered; i++) {
			for (unsigned p = 1;
				p <= PEERS && !m.ours[i] && prefix_contains(&m.prefix[i], &a);
				p++) {
				const struct model_path *x = &m.path[p][i];

				covered |= m.up[p] && x->there && m.known[x->hop] &&
					   model_port(hop_addr[x->hop]) >= 0;
			}
		}
		if (!covered)
			return false;
	}
	return true;
}

/* ---- what happens ---- */

static void
announce(unsigned peer, unsigned prefix, unsigned hop)
{
	struct model_path was = m.path[peer][prefix],
			  now = {true, hop, below(1u << 20) << 4 | peer};

	m.path[peer][prefix] = now;
	if (!model_covered()) {
		m.path[peer][prefix] = was;
		return;
	}
	feed_rig_announce(&m.r, (uint16_t)peer, prefix_v4(&m.prefix[prefix]), m.prefix[prefix].len,
		hop_addr[hop], now.pref);
}

static void
withdraw(unsigned peer, unsigned prefix)
{
	if (!m.path[peer][prefix].there)
		return;
	m.path[peer][prefix].there = false;
	if (model_covered())
		feed_rig_withdraw(
			&m.r, (uint16_t)peer, prefix_v4(&m.prefix[prefix]), m.prefix[prefix].len);
	else
		m.path[peer][prefix].there = true;
}

static void
session_flap(unsigned peer)
{
	if (m.up[peer]) {
		m.up[peer] = false;
		if (!model_covered()) {
			m.up[peer] = true;
			return;
		}
		rig_event(&m.r.rig, RIB_SESSION_DOWN, (uint16_t)peer);
		for (unsigned i = 0; i < m.prefixes; i++)
			m.path[peer][i].there = false;
	} else {
		m.up[peer] = true;
		rig_up(&m.r.rig, (uint16_t)peer, RIG_OWN_ASN, peer, false);
	}
}

/* What does not come by the stream of records finds it applied: else what replaces a route would be behind its loss. */
static void
originate(unsigned prefix)
{
	rig_drain(&m.r.rig);
	m.ours[prefix] = !m.ours[prefix];
	if (m.ours[prefix] && !model_covered()) {
		m.ours[prefix] = false;
		return;
	}
	feed_rig_originate(
		&m.r, prefix_v4(&m.prefix[prefix]), m.prefix[prefix].len, m.ours[prefix] ? 100 : 0);
}

static void
subnet_toggle(unsigned i)
{
	unsigned was = m.subnet_since[i];
	bool reachable[HOPS];

	for (unsigned h = 0; h < HOPS; h++)
		reachable[h] = model_port(hop_addr[h]) >= 0;
	m.subnet_since[i] = was != 0 ? 0 : ++m.clock;
	/* one subnet, one port: its age is that of the first address */
	for (unsigned j = 0; was == 0 && j < SUBNETS; j++) {
		struct prefix a = subnet_prefix(i), b = subnet_prefix(j);

		if (j != i && m.subnet_since[j] != 0 && subnet[j].port == subnet[i].port &&
			prefix_equal(&a, &b))
			m.subnet_since[i] = m.subnet_since[j];
	}
	if (!model_covered()) {
		m.subnet_since[i] = was;
		return;
	}
	for (unsigned h = 0; h < HOPS; h++) {
		if (reachable[h] != (model_port(hop_addr[h]) >= 0))
			m.known[h] = false;
	}
	rig_drain(&m.r.rig);
	assert_int_equal(
		feed_rig_connected(&m.r, subnet[i].local, subnet[i].len, subnet[i].port, was == 0),
		0);
}

static void
neighbor_event(unsigned i)
{
	bool lost = below(2);

	m.neighbor_mac[i] = lost ? 0 : (uint8_t)(1 + below(255));
	if (lost)
		m.neighbor_since[i] = 0;
	else if (m.neighbor_since[i] == 0)
		m.neighbor_since[i] = ++m.clock;
	assert_int_equal(
		feed_rig_neighbor(&m.r, neighbor[i].addr, neighbor[i].port, m.neighbor_mac[i]), 0);
}

static void
port_down(uint16_t port)
{
	fib_feed_port_down(m.r.feed, port, 0);
	for (unsigned i = 0; i < NEIGHBORS; i++) {
		if (neighbor[i].port == port)
			m.neighbor_mac[i] = 0;
	}
}

/* ---- what must hold ---- */

static void
check_covered(void)
{
	uint64_t generation = feed_rig_generation(&m.r);

	if (generation == m.generation)
		return;
	m.generation = generation;
	for (unsigned w = 0; w < m.watch_count; w++) {
		if (!feed_rig_lookup(&m.r, watched[w]).hit)
			fail_msg("seed %llu step %u: generation %llu has no way to %08x",
				(unsigned long long)seed, step, (unsigned long long)generation,
				watched[w]);
	}
}

static void
check_answer(uint32_t addr)
{
	struct answer want = model_answer(addr), got = feed_rig_lookup(&m.r, addr);

	if (want.hit != got.hit ||
		(want.hit && (!prefix_equal(&want.prefix, &got.prefix) || want.kind != got.kind ||
				     want.port != got.port ||
				     (want.kind == PATH_LIST_FORWARD &&
					     !addr_equal(&want.next_hop, &got.next_hop)))))
		fail_msg("seed %llu step %u: %08x: want %d len %u kind %d port %d hop %08x, got %d "
			 "len %u kind %d port %d hop %08x",
			(unsigned long long)seed, step, addr, want.hit, want.prefix.len, want.kind,
			want.port, addr_v4(&want.next_hop), got.hit, got.prefix.len, got.kind,
			got.port, addr_v4(&got.next_hop));
	if (got.kind != PATH_LIST_FORWARD || !got.hit)
		return;
	/* and whether the next hop can be used is what its neighbour says */
	for (unsigned i = 0; i < NEIGHBORS; i++) {
		if (neighbor[i].addr == addr_v4(&got.next_hop) && neighbor[i].port == got.port &&
			((got.state == NEXT_HOP_UP) != (m.neighbor_mac[i] != 0) ||
				(got.state == NEXT_HOP_UP && got.mac != m.neighbor_mac[i])))
			fail_msg("seed %llu step %u: next hop %08x state %d mac %u",
				(unsigned long long)seed, step, neighbor[i].addr, got.state,
				got.mac);
	}
}

static void
turn(uint64_t deadline_ns)
{
	m.r.now_ns += below(6000000);
	if (below(4))
		qsbr_quiescent(m.r.workers, m.r.worker);
	feed_rig_turn(&m.r, deadline_ns);
	check_covered();
}

/* As feed_rig_settle(), and no generation on the way goes unseen. */
static void
settle(void)
{
	bool more;

	do {
		rig_settle(&m.r.rig);
		more = feed_rig_pump_ask(&m.r);
		more |= feed_rig_pump_tell(&m.r);
		for (unsigned i = 0;; i++) {
			bool busy;

			qsbr_quiescent(m.r.workers, m.r.worker);
			m.r.now_ns += FEED_INTERVAL_NS;
			busy = feed_rig_turn(&m.r, UINT64_MAX);
			check_covered();
			if (!busy && fib_settled(m.r.fib) &&
				(fib_feed_wait_ns(m.r.feed) == 0 ||
					fib_feed_audit(m.r.feed)->running))
				break;
			assert_true(i < 100000);
		}
	} while (more);
	for (unsigned h = 0; h < HOPS; h++)
		m.known[h] = true;
}

/* The shard hears and decides all that it can; the feed stays where it is. */
static void
shard_settle(void)
{
	do {
		rig_settle(&m.r.rig);
		while (feed_rig_pump_ask(&m.r))
			;
	} while (feed_rig_pump_tell(&m.r));
	for (unsigned h = 0; h < HOPS; h++)
		m.known[h] = true;
}

static void
check_all(void)
{
	settle();
	for (unsigned i = 0; i < m.prefixes; i++) {
		uint32_t first = prefix_v4(&m.prefix[i]);
		uint32_t last =
			first | (m.prefix[i].len == 0		? UINT32_MAX
					: m.prefix[i].len == 32 ? 0
								: UINT32_MAX >> m.prefix[i].len);

		check_answer(first);
		check_answer(last);
		check_answer(first - 1);
		check_answer(last + 1);
	}
	for (unsigned i = 0; i < SUBNETS; i++) {
		check_answer(subnet[i].local);
		check_answer(subnet[i].local + 1);
	}
	for (unsigned i = 0; i < NEIGHBORS; i++)
		check_answer(neighbor[i].addr);
	/* one that began in the middle of it all has ended now, and has seen nothing that was only on its way */
	for (unsigned i = 0; fib_feed_audit(m.r.feed)->running && i < 1000; i++)
		settle();
	if (fib_feed_audit(m.r.feed)->running || fib_feed_audit(m.r.feed)->mismatch_count > 0)
		fail_msg("seed %llu step %u: audit: %llu of %llu", (unsigned long long)seed, step,
			(unsigned long long)fib_feed_audit(m.r.feed)->mismatch_count,
			(unsigned long long)fib_feed_audit(m.r.feed)->checked);
	assert_int_equal(feed_rig_audit(&m.r), 0);
	/* nothing keeps the tombstones */
	assert_int_equal(journal_safe_sequence(shard_journal(m.r.rig.shard)),
		journal_head(shard_journal(m.r.rig.shard)) + 1);
	assert_int_equal(fib_feed_failed(m.r.feed), 0);
	assert_int_equal(shard_failures(m.r.rig.shard), 0);
}

static unsigned
any_prefix(void)
{
	return below(m.tight ? 16 : m.prefixes);
}

static void
step_once(void)
{
	switch (below(24)) {
	case 0 ... 6: {
		unsigned peer = 1 + below(PEERS);

		if (m.up[peer])
			announce(peer, any_prefix(), below(8) ? below(HOPS - 1) : HOPS - 1);
		break;
	}
	case 7 ... 11:
		for (unsigned n = m.tight ? below(40) : 1; n > 0; n--)
			withdraw(1 + below(PEERS), any_prefix());
		break;
	case 12:
		if (below(4) == 0)
			session_flap(1 + below(PEERS));
		break;
	case 13:
		if (below(4) == 0)
			originate(any_prefix());
		break;
	case 14:
		if (below(m.tight ? 2 : 4) == 0)
			subnet_toggle(below(8) ? 1 + below(SUBNETS - 1) : 0);
		break;
	case 15:
		if (below(8))
			neighbor_event(below(m.tight ? NEIGHBORS - 1 : NEIGHBORS));
		else
			port_down((uint16_t)below(5));
		break;
	case 16 ... 17:
		rig_put(&m.r.rig);
		for (unsigned n = below(8); n > 0; n--)
			rig_turn(&m.r.rig);
		break;
	case 18:
		for (unsigned n = below(4); n > 0; n--)
			feed_rig_pump_ask(&m.r);
		break;
	case 19:
		for (unsigned n = below(4); n > 0; n--)
			feed_rig_pump_tell(&m.r);
		break;
	case 20:
		qsbr_quiescent(m.r.workers, m.r.worker);
		break;
	case 21:
		if (below(20) == 0)
			(void)fib_feed_audit_begin(m.r.feed);
		if (below(3) == 0)
			shard_settle();
		break;
	default:
		for (unsigned n = below(6); n > 0; n--)
			turn(below(2) ? 1 : UINT64_MAX);
		break;
	}
}

static void
model_begin(void)
{
	memset(&m, 0, sizeof(m));
	m.tight = below(2);
	m.watch_count = m.tight ? 2 : WATCHED;
	feed_rig_init(&m.r, true, 16u << below(6), 1 + below(m.tight ? 3 : 64));
	for (unsigned w = 0; w < WATCHED; w++) {
		for (unsigned i = 0; i < sizeof(lens); i++) {
			struct ip_addr a = addr_from_v4(watched[w]);
			struct prefix p = prefix_from_addr(&a, lens[i]);
			unsigned j = 0;

			while (j < m.prefixes && !prefix_equal(&m.prefix[j], &p))
				j++;
			if (j == m.prefixes)
				m.prefix[m.prefixes++] = p;
			assert_true(m.prefixes <= PREFIXES_MAX);
		}
	}
	for (uint16_t p = 1; p <= PEERS; p++) {
		feed_rig_peer(&m.r, p);
		rig_up(&m.r.rig, p, RIG_OWN_ASN, p, false);
		m.up[p] = true;
	}
	for (unsigned i = 0; i < 2; i++) {
		m.subnet_since[i] = ++m.clock;
		assert_int_equal(feed_rig_connected(&m.r, subnet[i].local, subnet[i].len,
					 subnet[i].port, true),
			0);
	}
	/* A default route that covers all, and every next hop in use once, so that the shard has asked for it. */
	for (unsigned h = 0; h < HOPS; h++) {
		m.path[4][h] = (struct model_path){true, HOPS - 1 - h, 100};
		if (h == 0)
			m.path[4][h].hop = 4;
		feed_rig_announce(&m.r, 4, prefix_v4(&m.prefix[h]), m.prefix[h].len,
			hop_addr[m.path[4][h].hop], 100);
	}
	m.generation = feed_rig_generation(&m.r);
	feed_rig_settle(&m.r);
	settle();
	assert_true(model_covered());
}

static void
test_streams(void **state)
{
	const char *one = getenv("SEED");

	(void)state;
	for (unsigned n = 0; n < STREAMS; n++) {
		seed = one != NULL ? strtoull(one, NULL, 0) : 1 + n;
		rng_state = seed * 0x2545f4914f6cdd1du;
		model_begin();
		for (step = 0; step < STEPS; step++) {
			step_once();
			if (below(300) == 0)
				check_all();
		}
		check_all();
		feed_rig_fini(&m.r);
		if (one != NULL)
			break;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
	};

	return cmocka_run_group_tests_name("fib_feed_property", tests, NULL, NULL);
}
