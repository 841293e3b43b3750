/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random streams of announcements, reachability and host events against a model without order.
 * After each drain every lookup equals the model's answer, and the audit finds no mismatch. In
 * between, while the stream never leaves a watched address without a usable route, no generation
 * does either.
 */
#include "rib/feed/fib_feed.h"

#include "tests/lpm/size.h"
#include "tests/rib/feed_rig.h"

#ifdef KEEL_SANITIZED
#define STREAMS test_size(5, 12)
#else
#define STREAMS test_size(12, 30)
#endif
#define STEPS 2500

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define PEERS 4 /* 1..4 */
#define HOPS 6 /* in each family */
#define SUBNETS 10
#define NEIGHBORS 12
#define PORTS 5
#define PREFIXES_MAX 128
#define ROUTES 24

/*
 * Every IPv4 address and prefix has an IPv6 twin: the four bytes come first, a host's length is
 * 128. The routes are below these addresses and at the edges.
 */
static const uint32_t watched[] = {V4(10, 1, 2, 5), V4(10, 1, 200, 7), V4(192, 0, 2, 9),
	V4(192, 0, 2, 130), V4(198, 51, 100, 1)};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))
static const uint8_t lens[] = {0, 7, 8, 12, 16, 20, 22, 24, 25, 28, 30, 32};

/*
 * The last next hop is never reachable, the one before almost always. Only the default route covers
 * the next hops, so that connected subnets decide (recursion has its own tests).
 */
static const uint32_t hop_addr[HOPS] = {V4(100, 64, 2, 1), V4(100, 64, 2, 129), V4(100, 65, 100, 1),
	V4(100, 65, 100, 2), V4(203, 0, 113, 1), V4(100, 66, 0, 1)};

static const struct {
	uint32_t local;
	uint8_t len;
	uint16_t port;
} subnet[SUBNETS] = {
	{V4(203, 0, 113, 254), 24, 2}, /* changed less often */
	{V4(100, 64, 2, 254), 24, 0}, {V4(100, 64, 2, 253), 24, 0}, /* a second address */
	{V4(100, 64, 2, 252), 24, 4}, /* same subnet on another port */
	{V4(100, 64, 2, 200), 25, 3}, /* a longer subnet */
	{V4(100, 65, 100, 254), 24, 1},
	{V4(100, 65, 100, 1), 32, 1}, /* a next hop becomes our own address */
	{V4(192, 0, 2, 254), 24, 0}, {V4(192, 0, 2, 250), 24, 3},
	{V4(198, 51, 100, 1), 24, 1}, /* among the routes */
};

static const struct {
	uint32_t addr;
	uint16_t port;
} neighbor[NEIGHBORS] = {
	{V4(100, 64, 2, 1), 0},
	{V4(100, 64, 2, 1), 4},
	{V4(100, 64, 2, 129), 0},
	{V4(100, 64, 2, 129), 3},
	{V4(100, 65, 100, 1), 1},
	{V4(100, 65, 100, 2), 1},
	{V4(203, 0, 113, 1), 2},
	{V4(192, 0, 2, 9), 0}, /* not a next hop */
	{V4(192, 0, 2, 9), 3},
	{V4(198, 51, 100, 1), 0}, /* a neighbour that answers for our address */
	{V4(192, 0, 2, 254), 1},
	{V4(10, 1, 2, 5), 2},
};

struct model_path {
	bool there;
	unsigned hop; /* counted over both families */
	uint32_t pref;
};

/* A static or kernel route of any prefix. */
struct model_route {
	bool there, blackhole;
	unsigned prefix, hop, port; /* PORT_NONE: must be resolved */
	enum route_source source;
};

struct model {
	struct feed_rig r;
	struct prefix prefix[PREFIXES_MAX];
	unsigned prefixes;
	bool up[PEERS + 1];
	struct model_path path[PEERS + 1][PREFIXES_MAX];
	bool ours[PREFIXES_MAX];
	struct model_route route[ROUTES];
	unsigned subnet_since[2][SUBNETS]; /* by family; 0: down; else the time of the last up */
	unsigned neighbor_since[2][NEIGHBORS];
	uint8_t neighbor_mac[2][NEIGHBORS]; /* 0: absent */
	bool port_down[PORTS];
	bool known[2 * HOPS]; /* the shard has evaluated the last message about the next hop */
	unsigned clock;
	uint64_t generation;
	/*
	 * Half of the streams are tight: few prefixes, and covering routes are withdrawn as early
	 * as possible.
	 */
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

static struct ip_addr
of_family(uint32_t addr, unsigned v6)
{
	struct ip_addr a = addr_from_v4(addr);

	if (v6)
		a.afi = AFI_IPV6;
	return a;
}

static struct ip_addr
hop_at(unsigned hop)
{
	return of_family(hop_addr[hop % HOPS], hop >= HOPS);
}

static struct prefix
prefix_of(uint32_t addr, unsigned v6, uint8_t len)
{
	struct ip_addr a = of_family(addr, v6);

	return prefix_from_addr(&a, v6 && len == 32 ? 128 : len);
}

static struct prefix
subnet_prefix(unsigned v6, unsigned i)
{
	return prefix_of(subnet[i].local, v6, subnet[i].len);
}

/* -1: unreachable. RFC 4271 5.1.3 */
static int
model_port(unsigned hop)
{
	struct ip_addr a = hop_at(hop);
	unsigned v6 = hop >= HOPS;
	int best = -1;

	for (unsigned i = 0; i < SUBNETS; i++) {
		struct prefix p = subnet_prefix(v6, i);

		if (m.subnet_since[v6][i] == 0)
			continue;
		if (subnet[i].local == hop_addr[hop % HOPS])
			return -1;
		if (!prefix_contains(&p, &a) || m.port_down[subnet[i].port])
			continue;
		if (best < 0 || subnet[i].len > subnet[best].len ||
			(subnet[i].len == subnet[best].len &&
				m.subnet_since[v6][i] < m.subnet_since[v6][best]))
			best = (int)i;
	}
	return best < 0 ? -1 : subnet[best].port;
}

static const struct model_path *
model_next(unsigned prefix, uint32_t pref)
{
	const struct model_path *best = NULL;

	for (unsigned p = 1; p <= PEERS && !m.ours[prefix]; p++) {
		const struct model_path *x = &m.path[p][prefix];

		if (m.up[p] && x->there && model_port(x->hop) >= 0 && x->pref < pref &&
			(best == NULL || x->pref > best->pref))
			best = x;
	}
	return best;
}

/*
 * The best path, with a backup: the first path with another next hop, preferably on another port.
 */
static bool
model_rib(unsigned prefix, struct answer *out)
{
	const struct model_path *best = model_next(prefix, UINT32_MAX);

	if (best == NULL)
		return false;
	*out = (struct answer){.hit = true,
		.prefix = m.prefix[prefix],
		.kind = PATH_LIST_FORWARD,
		.port = (uint16_t)model_port(best->hop),
		.next_hop = hop_at(best->hop)};
	for (const struct model_path *x = model_next(prefix, best->pref); x != NULL;
		x = model_next(prefix, x->pref)) {
		bool elsewhere = model_port(x->hop) != out->port;

		if (x->hop == best->hop || (out->backups > 0 && !elsewhere))
			continue;
		out->backups = 1;
		out->backup = hop_at(x->hop);
		if (elsewhere)
			break;
	}
	return true;
}

/* Connected entry of exactly this prefix. */
static bool
model_local(const struct prefix *p, struct answer *out)
{
	unsigned rank = 0, since = 0, v6 = p->afi == AFI_IPV6;

	for (unsigned i = 0; i < SUBNETS; i++) {
		struct prefix sub = subnet_prefix(v6, i), host = prefix_of(subnet[i].local, v6, 32);

		if (m.subnet_since[v6][i] == 0)
			continue;
		if (prefix_equal(p, &host)) {
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_PUNT,
				.port = PORT_NONE};
			return true;
		}
		if (prefix_equal(p, &sub) && !m.port_down[subnet[i].port] && rank < 2 &&
			(rank == 0 || m.subnet_since[v6][i] < since)) {
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_GLEAN,
				.port = subnet[i].port};
			rank = 1;
			since = m.subnet_since[v6][i];
		}
	}
	for (unsigned i = 0; i < NEIGHBORS; i++) {
		struct prefix host = prefix_of(neighbor[i].addr, v6, 32);

		if (m.neighbor_since[v6][i] == 0 || !prefix_equal(p, &host) ||
			m.port_down[neighbor[i].port] ||
			(rank == 2 && m.neighbor_since[v6][i] < since))
			continue;
		*out = (struct answer){.hit = true,
			.prefix = *p,
			.kind = PATH_LIST_FORWARD,
			.port = neighbor[i].port,
			.next_hop = of_family(neighbor[i].addr, v6)};
		rank = 2;
		since = m.neighbor_since[v6][i];
	}
	return rank > 0;
}

/* Static routes are preferred to kernel routes. */
static bool
model_route(const struct prefix *p, struct answer *out)
{
	bool found = false;

	for (unsigned i = 0; i < ROUTES; i++) {
		const struct model_route *x = &m.route[i];
		int port;

		if (!x->there || !prefix_equal(&m.prefix[x->prefix], p) ||
			(found && x->source == SOURCE_KERNEL))
			continue;
		port = x->port != PORT_NONE ? m.port_down[x->port] ? -1 : (int)x->port
					    : model_port(x->hop);
		if (x->blackhole)
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_BLACKHOLE,
				.port = PORT_NONE};
		else if (port >= 0)
			*out = (struct answer){.hit = true,
				.prefix = *p,
				.kind = PATH_LIST_FORWARD,
				.port = (uint16_t)port,
				.next_hop = hop_at(x->hop)};
		else
			continue;
		found = true;
	}
	return found;
}

/* Connected 0, static 1, kernel 110, internal 200. */
static struct answer
model_answer(const struct ip_addr *a)
{
	struct answer out = {0};

	for (int len = (int)prefix_max_len(a->afi); len >= 0; len--) {
		struct prefix p = prefix_from_addr(a, (uint8_t)len);

		if (model_local(&p, &out) || model_route(&p, &out))
			return out;
		for (unsigned i = 0; i < m.prefixes; i++) {
			if (prefix_equal(&m.prefix[i], &p) && model_rib(i, &out))
				return out;
		}
	}
	return out;
}

/*
 * True if each watched address has a route whose next hop the shard knows as reachable. Host routes
 * do not count: host routes come and go at any time.
 */
static bool
model_covered(void)
{
	for (unsigned w = 0; w < 2 * m.watch_count; w++) {
		struct ip_addr a = of_family(watched[w / 2], w % 2);
		bool covered = false;

		for (unsigned i = 0; i < m.prefixes && !covered; i++) {
			for (unsigned p = 1;
				p <= PEERS && !m.ours[i] && prefix_contains(&m.prefix[i], &a);
				p++) {
				const struct model_path *x = &m.path[p][i];

				covered |= m.up[p] && x->there && m.known[x->hop] &&
					   model_port(x->hop) >= 0;
			}
		}
		if (!covered)
			return false;
	}
	return true;
}

/* ---- events ---- */

/* Several shards apply records in the order of the stream; only their walks differ. */
static void
said(void)
{
	if (m.r.shards.count > 1)
		feed_rig_shards_drain(&m.r);
}

static void
session_up(unsigned peer)
{
	for (unsigned i = 0; i < m.r.shards.count; i++)
		rig_up(&m.r.rigs[i], (uint16_t)peer, RIG_OWN_ASN, peer, false);
}

static void
announce(unsigned peer, unsigned prefix, unsigned hop)
{
	struct model_path was = m.path[peer][prefix],
			  now = {true, hop, below(1u << 20) << 4 | peer};
	struct ip_addr next_hop = hop_at(hop);

	m.path[peer][prefix] = now;
	if (!model_covered()) {
		m.path[peer][prefix] = was;
		return;
	}
	feed_rig_announce_to(&m.r, (uint16_t)peer, &m.prefix[prefix], &next_hop, now.pref);
	said();
}

static void
withdraw(unsigned peer, unsigned prefix)
{
	if (!m.path[peer][prefix].there)
		return;
	m.path[peer][prefix].there = false;
	if (model_covered()) {
		feed_rig_withdraw_prefix(&m.r, (uint16_t)peer, &m.prefix[prefix]);
		said();
	} else {
		m.path[peer][prefix].there = true;
	}
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
		for (unsigned i = 0; i < m.r.shards.count; i++)
			rig_event(&m.r.rigs[i], RIB_SESSION_DOWN, (uint16_t)peer);
		for (unsigned i = 0; i < m.prefixes; i++)
			m.path[peer][i].there = false;
	} else {
		m.up[peer] = true;
		session_up(peer);
	}
	said();
}

/*
 * Records must be applied before an event that bypasses them: otherwise the loss of a route would
 * precede its replacement.
 */
static void
originate(unsigned prefix)
{
	feed_rig_shards_drain(&m.r);
	m.ours[prefix] = !m.ours[prefix];
	if (m.ours[prefix] && !model_covered()) {
		m.ours[prefix] = false;
		return;
	}
	feed_rig_originate_prefix(&m.r, &m.prefix[prefix], m.ours[prefix] ? 100 : 0);
}

static void
reachability(bool *reachable)
{
	for (unsigned h = 0; h < 2 * HOPS; h++)
		reachable[h] = model_port(h) >= 0;
}

/* Marks next hops whose reachability changed: the shard does not know yet. */
static void
unknown_since(const bool *reachable)
{
	for (unsigned h = 0; h < 2 * HOPS; h++) {
		if (reachable[h] != (model_port(h) >= 0))
			m.known[h] = false;
	}
}

static void
subnet_toggle(unsigned v6, unsigned i)
{
	unsigned was = m.subnet_since[v6][i];
	struct ip_addr local = of_family(subnet[i].local, v6);
	struct prefix p = subnet_prefix(v6, i);
	bool reachable[2 * HOPS];

	reachability(reachable);
	m.subnet_since[v6][i] = was != 0 ? 0 : ++m.clock;
	/* one subnet on one port: the first address sets the age */
	for (unsigned j = 0; was == 0 && j < SUBNETS; j++) {
		struct prefix b = subnet_prefix(v6, j);

		if (j != i && m.subnet_since[v6][j] != 0 && subnet[j].port == subnet[i].port &&
			prefix_equal(&p, &b))
			m.subnet_since[v6][i] = m.subnet_since[v6][j];
	}
	if (!model_covered()) {
		m.subnet_since[v6][i] = was;
		return;
	}
	unknown_since(reachable);
	feed_rig_shards_drain(&m.r);
	assert_int_equal(
		fib_feed_connected(m.r.feed, VRF_DEFAULT, &p, &local, subnet[i].port, was == 0), 0);
}

static void
neighbor_event(unsigned v6, unsigned i)
{
	struct ip_addr a = of_family(neighbor[i].addr, v6);
	bool lost = below(2);

	m.neighbor_mac[v6][i] = lost ? 0 : (uint8_t)(1 + below(255));
	if (lost)
		m.neighbor_since[v6][i] = 0;
	else if (m.neighbor_since[v6][i] == 0)
		m.neighbor_since[v6][i] = ++m.clock;
	assert_int_equal(
		feed_rig_neighbor_addr(&m.r, &a, neighbor[i].port, m.neighbor_mac[v6][i]), 0);
}

static void
link_event(unsigned port)
{
	bool reachable[2 * HOPS];

	reachability(reachable);
	m.port_down[port] = !m.port_down[port];
	if (!model_covered()) {
		m.port_down[port] = !m.port_down[port];
		return;
	}
	unknown_since(reachable);
	feed_rig_shards_drain(&m.r);
	if (m.port_down[port])
		fib_feed_port_down(m.r.feed, (uint16_t)port, m.r.now_ns);
	else
		fib_feed_port_up(m.r.feed, (uint16_t)port);
}

/* Adds, changes or removes a route. */
static void
route_event(unsigned i, unsigned prefix)
{
	struct model_route *x = &m.route[i];
	struct model_route now = {.there = below(3) != 0,
		.blackhole = below(6) == 0,
		.prefix = x->there ? x->prefix : prefix,
		.hop = below(HOPS) +
		       (m.prefix[x->there ? x->prefix : prefix].afi == AFI_IPV6 || below(3) == 0
				       ? HOPS
				       : 0),
		.port = below(2) ? PORT_NONE : below(PORTS),
		.source = i % 2 ? SOURCE_STATIC : SOURCE_KERNEL};
	struct fib_feed_hop hop = {hop_at(now.hop), (uint16_t)now.port};

	for (unsigned j = i % 2; j < ROUTES; j += 2) {
		if (j != i && m.route[j].there && m.route[j].prefix == now.prefix)
			return;
	}
	if (!now.there && !x->there)
		return;
	assert_int_equal(fib_feed_route(m.r.feed, VRF_DEFAULT, &m.prefix[now.prefix], now.source,
				 &hop, !now.blackhole, 10, now.there),
		0);
	*x = now;
}

/* ---- invariants ---- */

static void
check_covered(void)
{
	uint64_t generation = feed_rig_generation(&m.r);

	if (generation == m.generation)
		return;
	m.generation = generation;
	for (unsigned w = 0; w < 2 * m.watch_count; w++) {
		struct ip_addr a = of_family(watched[w / 2], w % 2);

		if (!feed_rig_lookup_addr(&m.r, &a).hit)
			fail_msg("seed %llu step %u: generation %llu has no way to %08x of family "
				 "%u",
				(unsigned long long)seed, step, (unsigned long long)generation,
				watched[w / 2], w % 2);
	}
}

static bool
answers_equal(const struct answer *a, const struct answer *b)
{
	if (a->hit != b->hit || !a->hit)
		return a->hit == b->hit;
	if (!prefix_equal(&a->prefix, &b->prefix) || a->kind != b->kind || a->port != b->port)
		return false;
	return a->kind != PATH_LIST_FORWARD ||
	       (addr_equal(&a->next_hop, &b->next_hop) && a->backups == b->backups &&
		       (a->backups == 0 || addr_equal(&a->backup, &b->backup)));
}

static const char *
answer_text(const struct answer *a, char *text, size_t size)
{
	char p[PREFIX_TEXT_MAX], n[ADDR_TEXT_MAX] = "-", b[ADDR_TEXT_MAX] = "-";

	if (!a->hit)
		return "nothing";
	if (a->kind == PATH_LIST_FORWARD)
		addr_format(&a->next_hop, n);
	if (a->backups > 0)
		addr_format(&a->backup, b);
	snprintf(text, size, "%s kind %d port %u hop %s backup %s", prefix_format(&a->prefix, p),
		a->kind, a->port, n, b);
	return text;
}

static void
check_answer(const struct ip_addr *addr)
{
	struct answer want = model_answer(addr), got = feed_rig_lookup_addr(&m.r, addr);
	char a[ADDR_TEXT_MAX], w[256], g[256];

	if (!answers_equal(&want, &got))
		fail_msg("seed %llu step %u: %s: want %s, got %s", (unsigned long long)seed, step,
			addr_format(addr, a), answer_text(&want, w, sizeof(w)),
			answer_text(&got, g, sizeof(g)));
	if (got.kind != PATH_LIST_FORWARD || !got.hit)
		return;
	/* the state of the next hop follows neighbour and link */
	for (unsigned n = 0; n < 2 * NEIGHBORS; n++) {
		unsigned i = n / 2, v6 = n % 2;
		struct ip_addr x = of_family(neighbor[i].addr, v6);
		bool up = m.neighbor_mac[v6][i] != 0 && !m.port_down[neighbor[i].port];

		if (addr_equal(&x, &got.next_hop) && neighbor[i].port == got.port &&
			((got.state == NEXT_HOP_UP) != up ||
				(up && got.mac != m.neighbor_mac[v6][i])))
			fail_msg("seed %llu step %u: next hop %s state %d mac %u",
				(unsigned long long)seed, step, addr_format(&x, a), got.state,
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

/* As feed_rig_settle(), with a check of each generation on the way. */
static void
settle(void)
{
	bool more;

	do {
		feed_rig_shards_settle(&m.r);
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
	} while (more || m.r.asks.head != m.r.asks.tail || m.r.tells.head != m.r.tells.tail);
	for (unsigned h = 0; h < 2 * HOPS; h++)
		m.known[h] = true;
}

/* The shard receives and evaluates everything queued; the feed does not move. */
static void
shard_settle(void)
{
	do {
		(void)nexthop_work(m.r.hops, m.r.now_ns, 0);
		feed_rig_shards_settle(&m.r);
		while (feed_rig_pump_ask(&m.r))
			;
	} while (feed_rig_pump_tell(&m.r));
	for (unsigned h = 0; h < 2 * HOPS; h++)
		m.known[h] = true;
}

/* Checks the first and the last address of a prefix, and the adjacent addresses. */
static void
check_edges(const struct prefix *p)
{
	unsigned max = prefix_max_len(p->afi);

	for (unsigned edge = 0; edge < 2; edge++) {
		struct ip_addr a = {.afi = p->afi};

		memcpy(a.b, p->b, sizeof(a.b));
		for (unsigned bit = p->len; edge == 1 && bit < max; bit++)
			a.b[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
		check_answer(&a);
		for (unsigned i = max / 8; i-- > 0;) {
			a.b[i] = (uint8_t)(a.b[i] + (edge ? 1 : 0xff));
			if (a.b[i] != (edge ? 0 : 0xff))
				break;
		}
		check_answer(&a);
	}
}

static void
check_all(void)
{
	settle();
	for (unsigned i = 0; i < m.prefixes; i++)
		check_edges(&m.prefix[i]);
	for (unsigned i = 0; i < 2 * SUBNETS; i++) {
		struct prefix p = prefix_of(subnet[i / 2].local, i % 2, 32);

		check_edges(&p);
	}
	for (unsigned i = 0; i < 2 * NEIGHBORS; i++) {
		struct ip_addr a = of_family(neighbor[i / 2].addr, i % 2);

		check_answer(&a);
	}
	/* a running audit ends, and reports no changes in transit */
	for (unsigned i = 0; fib_feed_audit(m.r.feed)->running && i < 1000; i++)
		settle();
	if (fib_feed_audit(m.r.feed)->running || fib_feed_audit(m.r.feed)->mismatch_count > 0)
		fail_msg("seed %llu step %u: audit: %llu of %llu", (unsigned long long)seed, step,
			(unsigned long long)fib_feed_audit(m.r.feed)->mismatch_count,
			(unsigned long long)fib_feed_audit(m.r.feed)->checked);
	assert_int_equal(feed_rig_audit(&m.r), 0);
	/* no consumer holds tombstones */
	assert_int_equal(journal_safe_sequence(shard_journal(m.r.rig.shard)),
		journal_head(shard_journal(m.r.rig.shard)) + 1);
	assert_int_equal(fib_feed_failed(m.r.feed), 0);
	for (unsigned i = 0; i < m.r.shards.count; i++)
		assert_int_equal(shard_failures(m.r.shards.at[i]), 0);
}

static unsigned
any_prefix(void)
{
	return below(m.tight ? 24 : m.prefixes);
}

static void
step_once(void)
{
	switch (below(25)) {
	case 0 ... 6: {
		unsigned peer = 1 + below(PEERS);

		unsigned prefix = any_prefix(), hop = below(8) ? below(HOPS - 1) : HOPS - 1;

		if (m.prefix[prefix].afi == AFI_IPV6 || below(4) == 0) /* RFC 8950 */
			hop += HOPS;
		if (m.up[peer])
			announce(peer, prefix, hop);
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
			subnet_toggle(below(2), below(8) ? 1 + below(SUBNETS - 1) : 0);
		break;
	case 15:
		if (below(8))
			neighbor_event(below(2), below(m.tight ? NEIGHBORS - 1 : NEIGHBORS));
		else
			link_event(below(PORTS));
		break;
	case 16 ... 17: {
		struct rig *r = &m.r.rigs[below(m.r.shards.count)];

		rig_put(r);
		for (unsigned n = below(8); n > 0; n--)
			rig_turn(r);
		break;
	}
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
			(void)fib_feed_audit_begin(m.r.feed, NULL);
		if (below(3) == 0)
			shard_settle();
		break;
	case 22:
		if (below(3) == 0)
			route_event(below(ROUTES), any_prefix());
		break;
	default:
		for (unsigned n = below(6); n > 0; n--)
			turn(below(2) ? 1 : UINT64_MAX);
		break;
	}
}

static void
subnet_up(unsigned v6, unsigned i)
{
	struct ip_addr local = of_family(subnet[i].local, v6);
	struct prefix p = subnet_prefix(v6, i);

	m.subnet_since[v6][i] = ++m.clock;
	assert_int_equal(
		fib_feed_connected(m.r.feed, VRF_DEFAULT, &p, &local, subnet[i].port, true), 0);
}

static void
model_begin(void)
{
	memset(&m, 0, sizeof(m));
	m.tight = below(2);
	m.watch_count = m.tight ? 2 : WATCHED;
	feed_rig_init_shards(&m.r, seed % 3 == 0 ? FEED_SHARDS : 1, true, 16u << below(6),
		1 + below(m.tight ? 3 : 64));
	for (unsigned w = 0; w < WATCHED; w++) {
		for (unsigned i = 0; i < 2 * sizeof(lens); i++) {
			struct prefix p = prefix_of(watched[w], i % 2, lens[i / 2]);
			unsigned j = 0;

			while (j < m.prefixes && !prefix_equal(&m.prefix[j], &p))
				j++;
			if (j == m.prefixes)
				m.prefix[m.prefixes++] = p;
			assert_true(m.prefixes < PREFIXES_MAX);
		}
	}
	for (uint16_t p = 1; p <= PEERS; p++) {
		feed_rig_peer(&m.r, p);
		session_up(p);
		m.up[p] = true;
	}
	for (unsigned i = 0; i < 4; i++)
		subnet_up(i % 2, i / 2);
	/* Default routes, and a use of every next hop: the shard watches all next hops. */
	for (unsigned n = 0; n < 2 * HOPS; n++) {
		unsigned h = n < 2 ? 4 : HOPS - 1 - n / 2;
		struct ip_addr a;

		h += n % 2 ? HOPS : 0;
		a = hop_at(h);
		m.path[4][n] = (struct model_path){true, h, 100};
		feed_rig_announce_to(&m.r, 4, &m.prefix[n], &a, 100);
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
