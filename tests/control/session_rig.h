/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of sessions: a node (speaker, shard, their threads) and a scripted peer that speaks
 * real TCP on the loopback, with our encoders or with raw octets.
 */
#pragma once

#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "control/session/session.h"
#include "control/base/threads.h"
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/shard/shard.h"
#include "tests/rib/attr_of.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENTS_MAX 256
#define WAIT_MS                                                                                    \
	300000 /* long enough for sanitizers and a loaded machine; a passing test never waits as long */

/* number of shards of nodes created later */
static bool node_listens = true; /* false: the test starts the listeners */
static uint32_t node_journal = 4096; /* entries; a small one is lapped */
static unsigned node_shards = 1;
static bool node_restarted; /* speaker_config.restarted, of the next node */

struct node {
	struct arena *arena;
	struct qsbr *readers;
	unsigned reader; /* of the test's own thread */
	struct journal *journal;
	struct shards shards;
	struct shard *shard; /* the first shard */
	struct table_id table, table6;
	struct table_id vpn[2]; /* VPNv4, VPNv6 */
	struct speaker *speaker;
	struct thread *session, *rib[SHARDS_MAX];
	struct node_rib {
		struct node *n;
		unsigned shard;
	} of_rib[SHARDS_MAX];
	uint32_t asn, id;
	uint16_t port;
	_Atomic bool paused; /* all shards stand still */
	_Atomic uint32_t paused_shards; /* bits: these shards stand still */

	pthread_mutex_t lock;
	struct session_event event[EVENTS_MAX];
	unsigned event_count;
	_Atomic int events_reserved; /* never negative: each event is reserved before its action */
	_Atomic bool no_memory; /* no event can be reserved */
	_Atomic unsigned refused;
};

/* ---- a node ---- */

static inline void
node_event(void *ctx, const struct session_event *e)
{
	struct node *n = ctx;

	if (session_event_reserved(e) && n->events_reserved-- <= 0)
		abort();
	if (e->kind >= SESSION_REFRESH_SENT && e->kind <= SESSION_REFRESH_FAILED && e->job == 0)
		return; /* no job: a flood of requests */
	pthread_mutex_lock(&n->lock);
	if (n->event_count < EVENTS_MAX)
		n->event[n->event_count++] = *e;
	pthread_mutex_unlock(&n->lock);
}

static inline int
node_event_reserve(void *ctx, unsigned count)
{
	struct node *n = ctx;

	if (n->no_memory) {
		n->refused++;
		return -ENOMEM;
	}
	n->events_reserved += (int)count;
	return 0;
}

static inline void
node_event_release(void *ctx, unsigned count)
{
	struct node *n = ctx;

	if (atomic_fetch_sub(&n->events_reserved, (int)count) < (int)count)
		abort();
}

static inline void
node_wake_one(void *ctx, unsigned shard)
{
	struct node *n = ctx;

	if (n->rib[shard] != NULL)
		thread_wake(n->rib[shard]);
}

static inline void
node_wake_shard(void *ctx, unsigned shard, bool here)
{
	struct node *n = ctx;

	if (n->rib[shard] != NULL && here)
		thread_do(n->rib[shard]);
	else
		node_wake_one(n, shard);
}

static inline void
node_wake_shards(void *ctx)
{
	struct node *n = ctx;

	for (unsigned i = 0; i < n->shards.count; i++)
		node_wake_one(n, i);
}

static inline void
node_wake_session(void *ctx)
{
	struct node *n = ctx;

	if (n->session != NULL)
		thread_wake(n->session);
}

static inline bool
node_shard_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct node_rib *r = ctx;

	role_enter_rib();
	if (atomic_load(&r->n->paused) || atomic_load(&r->n->paused_shards) >> r->shard & 1)
		return false;
	return shard_work(r->n->shards.at[r->shard], now, deadline);
}

static inline bool
node_shard_help(void *ctx, uint64_t now, uint64_t deadline)
{
	struct node_rib *r = ctx;

	role_enter_rib();
	return !atomic_load(&r->n->paused) &&
	       (atomic_load(&r->n->paused_shards) >> r->shard & 1) == 0 &&
	       shard_help(r->n->shards.at[r->shard], now, deadline);
}

static inline bool
node_ask(void *ctx, const struct nexthop_message *m)
{
	return true;
}

struct node_call {
	struct node *n;
	struct shard *shard;
	struct peer_id id;
	const struct config_peer *config;
	const struct session_policies *policies;
	const struct policy *import;
	const char *text, *reason;
	struct session_view *view;
	uint32_t job;
	enum family family;
	const struct speaker_range *ranges;
	unsigned range_count;
	struct prefix prefix;
	struct ip_addr addr;
	const struct attr_set *attrs;
	int result;
	struct session_fault *faults;
	const struct speaker_interface *interface;
	const struct speaker_address *own;
};

static inline void
call_interface(void *arg)
{
	const struct node_call *c = arg;

	role_enter_session();
	speaker_interface(c->n->speaker, c->interface);
}

static inline void
call_own_address(void *arg)
{
	const struct node_call *c = arg;

	role_enter_session();
	speaker_address(c->n->speaker, c->own);
}

/* Reports an interface, as the host does. */
static inline void
node_interface(struct node *n, const char *name, bool present, bool up)
{
	struct speaker_interface i = {.vrf = VRF_DEFAULT,
		.ifindex = if_nametoindex(name),
		.zone = zone_find(name),
		.present = present,
		.up = up};
	struct node_call c = {.n = n, .interface = &i};

	assert_int_equal(thread_call(n->session, call_interface, &c), 0);
}

/* Reports an own address. */
static inline void
node_own(struct node *n, const char *name, const struct ip_addr *addr, uint8_t len, bool present)
{
	struct speaker_address a = {.vrf = VRF_DEFAULT,
		.ifindex = if_nametoindex(name),
		.local = *addr,
		.subnet = prefix_from_addr(addr, len),
		.present = present};
	struct node_call c = {.n = n, .own = &a};

	assert_int_equal(thread_call(n->session, call_own_address, &c), 0);
}

static inline uint8_t
ones_of(const void *mask, size_t len)
{
	uint8_t ones = 0;

	for (size_t i = 0; i < len; i++)
		ones = (uint8_t)(ones + __builtin_popcount(((const uint8_t *)mask)[i]));
	return ones;
}

/* Reports the interfaces and addresses of the namespace. */
static inline void
node_host(struct node *n)
{
	struct ifaddrs *all;

	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_PACKET)
			node_interface(n, i->ifa_name, true, i->ifa_flags & IFF_RUNNING);
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		const struct sockaddr *s = i->ifa_addr;
		struct ip_addr a = {.afi = AFI_NONE};
		uint8_t len = 0;

		if (s != NULL && i->ifa_netmask != NULL && s->sa_family == AF_INET) {
			a.afi = AFI_IPV4;
			memcpy(a.b, &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
			len = ones_of(&((const struct sockaddr_in *)(const void *)i->ifa_netmask)
					       ->sin_addr,
				4);
		} else if (s != NULL && i->ifa_netmask != NULL && s->sa_family == AF_INET6) {
			a.afi = AFI_IPV6;
			memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, 16);
			len = ones_of(&((const struct sockaddr_in6 *)(const void *)i->ifa_netmask)
					       ->sin6_addr,
				16);
			a.zone = addr_is_link_local(&a) ? zone_find(i->ifa_name) : 0;
		}
		if (a.afi != AFI_NONE)
			node_own(n, i->ifa_name, &a, len, true);
	}
	freeifaddrs(all);
}

static inline void
call_listen(void *arg)
{
	struct node_call *c = arg;

	c->result = speaker_listen(c->n->speaker, VRF_DEFAULT, NULL);
}

/* With port 0: a port that was free a moment ago. */
static inline uint16_t
port_free(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

/* tombstones_max 0: the shard's default. */
static inline void
node_begin_with(struct node *n, uint32_t asn, uint32_t id, uint32_t tombstones_max)
{
	struct shard_config s = {.own_asn = asn,
		.router_id = id,
		.journal_capacity = node_journal,
		.tombstones_max = tombstones_max,
		.wake_consumers = node_wake_session,
		.wake_sibling = node_wake_one,
		.wake_ctx = n,
		.ask_next_hop = node_ask,
		.ask_ctx = n};
	struct speaker_config c = {.wake_shard = node_wake_shard,
		.event = node_event,
		.event_reserve = node_event_reserve,
		.event_release = node_event_release,
		.ctx = n,
		.asn = asn,
		.router_id = id,
		.restarted = node_restarted};
	struct thread_config rib = {
		.name = "rib", .work = node_shard_work, .help = node_shard_help};
	struct thread_config session = {.name = "session",
		.start = speaker_start,
		.stop = speaker_stop,
		.work = speaker_work,
		.idle = speaker_idle,
		.busy = speaker_busy};
	struct node_call call = {.n = n};
	struct shard *at[SHARDS_MAX];

	memset(n, 0, sizeof(*n));
	pthread_mutex_init(&n->lock, NULL);
	n->asn = asn;
	n->id = id;
	n->port = port_free();
	assert_int_equal(arena_create("node", &n->arena), 0);
	assert_int_equal(qsbr_create(n->arena, 8, &n->readers), 0);
	assert_int_equal(qsbr_register(n->readers, &n->reader), 0);
	s.arena = c.arena = n->arena;
	s.readers = c.readers = n->readers;
	assert_int_equal(
		journal_create_shared(n->arena, s.journal_capacity, node_shards, &n->journal), 0);
	s.journal = n->journal;
	s.siblings = node_shards > 1 ? n->shards.at : NULL;
	for (s.index = 0; s.index < node_shards; s.index++) {
		struct shard **one = &at[s.index];

		assert_int_equal(shard_create(&s, 1, one), 0);
		assert_int_equal(
			shard_table_add(*one, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &n->table), 0);
		assert_int_equal(
			shard_table_add(*one, VRF_DEFAULT, FAMILY_IPV6_UNICAST, &n->table6), 0);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(shard_table_add(*one, VRF_DEFAULT,
						 FAMILY_VPNV4_UNICAST + i, &n->vpn[i]),
				0);
	}
	shards_init(&n->shards, at, node_shards);
	n->shard = at[0];
	c.shards = &n->shards;
	c.tcp_port = n->port;
	assert_int_equal(speaker_create(&c, &n->speaker), 0);
	session.ctx = n->speaker;
	for (unsigned i = 0; i < node_shards; i++) {
		n->of_rib[i] = (struct node_rib){n, i};
		rib.ctx = &n->of_rib[i];
		assert_int_equal(thread_create(&rib, &n->rib[i]), 0);
	}
	assert_int_equal(thread_create(&session, &n->session), 0);
	node_host(n);
	if (node_listens)
		thread_call(n->session, call_listen, &call);
	assert_int_equal(call.result, 0);
}

static inline void
node_begin(struct node *n, uint32_t asn, uint32_t id)
{
	node_begin_with(n, asn, id, 0);
}

static inline void
node_end(struct node *n)
{
	thread_end(n->session);
	for (unsigned i = 0; i < n->shards.count; i++)
		thread_end(n->rib[i]);
	thread_free(n->session);
	for (unsigned i = 0; i < n->shards.count; i++)
		thread_free(n->rib[i]);
	speaker_destroy(n->speaker);
	assert_int_equal(n->events_reserved, 0);
	for (unsigned i = 0; i < n->shards.count; i++)
		shard_destroy(n->shards.at[i]);
	journal_destroy(n->journal);
	qsbr_unregister(n->readers, n->reader);
	qsbr_destroy(n->readers);
	arena_destroy(n->arena); /* asserts that all memory was freed */
	pthread_mutex_destroy(&n->lock);
}

static inline struct ip_addr
loopback(unsigned last)
{
	return addr_from_v4(0x7f000000u + last);
}

/* Peer `id` at 127.0.0.`last`. */
static inline struct config_peer
peer_config(uint32_t asn, uint32_t own_asn, unsigned last)
{
	struct config_peer c = {.addr = loopback(last),
		.tcp_port = 1,
		.asn = asn,
		.external = asn != own_asn,
		.passive = true,
		.capabilities = {true, true, true, true, true},
		.timers = {.hold_s = 90,
			.connect_retry_s = 1,
			.open_sent_hold_s = 240,
			.stale_refresh_s = 600}};

	addr_format(&c.addr, c.addr_text);
	c.families[FAMILY_IPV4_UNICAST] = (struct config_family){.enabled = true,
		.send_communities = true,
		.next_hop_unchanged =
			true /* our address is on the loopback, which is no valid next hop */};
	return c;
}

static inline struct ip_addr
addr_of(const char *text)
{
	struct ip_addr a = {0};

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* A peer at any address, with these families (bits). */
static inline struct config_peer
peer_config_at(uint32_t asn, uint32_t own_asn, const char *addr, uint8_t families)
{
	struct config_peer c = peer_config(asn, own_asn, 1);

	c.addr = addr_of(addr);
	addr_format(&c.addr, c.addr_text);
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		c.families[f] = (struct config_family){.enabled = families >> f & 1,
			.send_communities = true,
			.next_hop_unchanged = true};
	return c;
}

static inline void
call_peer_shard(void *arg)
{
	struct node_call *c = arg;
	struct shard_peer p = {.id = c->id,
		.addr = c->config->addr,
		.external = c->config->external,
		.multihop = true,
		.asn = c->config->asn};

	role_enter_rib();
	c->result = shard_peer_add(c->shard, &p);
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		shard_peer_import(c->shard, c->id, f, c->import);
}

static inline void
call_peer_session(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_add(c->n->speaker, c->id, c->config, c->policies);
}

static inline void
node_peer(struct node *n, unsigned id, const struct config_peer *config, const struct policy *both)
{
	struct session_policies policies = {0};
	struct node_call c = {.n = n,
		.id = {(uint16_t)id},
		.config = config,
		.policies = &policies,
		.import = both};

	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		policies.export_policy[f] = both;
		policies.has_import[f] = both != NULL;
	}
	for (unsigned i = 0; i < n->shards.count; i++) {
		c.shard = n->shards.at[i];
		thread_call(n->rib[i], call_peer_shard, &c);
		assert_int_equal(c.result, 0);
	}
	thread_call(n->session, call_peer_session, &c);
	assert_int_equal(c.result, 0);
}

static inline void
call_view(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_peek(c->n->speaker, c->id, c->view);
}

static inline struct session_view
node_view(struct node *n, unsigned id)
{
	struct session_view v;
	struct node_call c = {.n = n, .id = {(uint16_t)id}, .view = &v};

	thread_call(n->session, call_view, &c);
	assert_true(c.result);
	return v;
}

static inline void
call_originate(void *arg)
{
	struct node_call *c = arg;

	role_enter_rib();
	c->result =
		shard_originate(c->shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, &c->prefix, c->attrs);
}

static inline void
nothing(void *arg)
{
	(void)arg;
}

/* Stops the shards of `bits`, and starts the others. Returns after a turn of each shard. */
static inline void
node_pause_shards(struct node *n, uint32_t bits)
{
	atomic_store(&n->paused_shards, bits);
	for (unsigned i = 0; i < 3 * n->shards.count; i++)
		thread_call(n->rib[i % n->shards.count], nothing, NULL);
	node_wake_shards(n);
}

static inline void
node_originate(struct node *n, uint32_t addr, uint8_t len, const struct attr_set *attrs)
{
	struct node_call c = {.n = n, .prefix = prefix_from_v4(addr, len), .attrs = attrs};
	unsigned i = shards_of(&n->shards, SHARDS_BY_NETWORK, &c.prefix);

	c.shard = n->shards.at[i];
	thread_call(n->rib[i], call_originate, &c);
	assert_int_equal(c.result, 0);
	thread_wake(n->rib[i]);
}

/* Number of paths of a prefix; *next_hop (unless NULL): next hop of the first path. */
static inline unsigned
node_paths_of(struct node *n, const struct prefix *p, struct ip_addr *next_hop)
{
	struct shard *s = shards_for(&n->shards, SHARDS_BY_NETWORK, p);
	struct dest_table *t = shard_table(s, p->afi == AFI_IPV4 ? n->table : n->table6);
	struct dest_view v;
	struct dest_id id;
	unsigned count;

	qsbr_online(n->readers, n->reader);
	id = dest_find(t, p);
	count = id.v != DEST_NONE && dest_peek(t, id, &v) && v.paths != NULL ? v.paths->count : 0;
	if (count > 0 && next_hop != NULL)
		*next_hop = *attr_next_hop(attr_of(shard_attrs(s), v.paths->path[0].accepted));
	qsbr_offline(n->readers, n->reader);
	return count;
}

static inline unsigned
node_paths(struct node *n, uint32_t addr, uint8_t len)
{
	struct prefix p = prefix_from_v4(addr, len);

	return node_paths_of(n, &p, NULL);
}

static inline void
breathe(void)
{
	poll(NULL, 0, 2);
}

#define wait_for(cond)                                                                             \
	do {                                                                                       \
		uint64_t until_ = now_ns() + WAIT_MS * 1000000ull;                                 \
		while (!(cond)) {                                                                  \
			if (now_ns() > until_)                                                     \
				fail_msg("%s:%d: waited in vain: %s", __FILE__, __LINE__, #cond);  \
			breathe();                                                                 \
		}                                                                                  \
	} while (0)

static inline unsigned
node_events(struct node *n, enum session_event_kind kind, uint32_t job)
{
	unsigned count = 0;

	pthread_mutex_lock(&n->lock);
	for (unsigned i = 0; i < n->event_count; i++)
		count += n->event[i].kind == kind && n->event[i].job == job;
	pthread_mutex_unlock(&n->lock);
	return count;
}

/* ---- a scripted peer ---- */

struct script {
	int fd;
	const char *from, *to; /* addresses; NULL: 127.0.0.`last` to 127.0.0.1 */
	const char *password; /* TCP-MD5; NULL: no password */
	int ttl, min_ttl /* IPv4 */, rcvbuf; /* 0: the default */
	uint8_t buf[BGP_EXTENDED_MSG_MAX];
	size_t have, taken;
	uint8_t type;
	uint16_t len;
};

static inline struct sockaddr_in6
sockaddr_of(const char *text, uint16_t port)
{
	struct ip_addr a = addr_of(text);
	struct sockaddr_in6 s = {.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_scope_id = if_nametoindex(zone_name(a.zone))};

	assert_int_equal(a.afi, AFI_IPV6);
	memcpy(&s.sin6_addr, a.b, 16);
	return s;
}

/* A non-blocking socket with the script's options, bound to `from`. */
static inline int
script_socket(const struct script *s, const struct sockaddr *from, const struct sockaddr *peer,
	socklen_t len)
{
	bool v6 = from->sa_family == AF_INET6;
	int fd = socket(from->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (s->rcvbuf > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &s->rcvbuf, sizeof(s->rcvbuf));
	if (s->min_ttl != 0)
		assert_int_equal(
			setsockopt(fd, IPPROTO_IP, IP_MINTTL, &s->min_ttl, sizeof(s->min_ttl)), 0);
	if (s->ttl != 0)
		assert_int_equal(setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
					 v6 ? IPV6_UNICAST_HOPS : IP_TTL, &s->ttl, sizeof(s->ttl)),
			0);
	if (s->password != NULL) {
		struct tcp_md5sig md5 = {.tcpm_keylen = (uint16_t)strlen(s->password)};

		memcpy(&md5.tcpm_addr, peer, len);
		memcpy(md5.tcpm_key, s->password, md5.tcpm_keylen);
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &md5, sizeof(md5)), 0);
	}
	assert_int_equal(bind(fd, from, len), 0);
	return fd;
}

/* Sends the SYN without waiting for an answer. */
static inline void
script_knock(struct script *s, const struct node *n, unsigned last)
{
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + last)};
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000001u),
		.sin_port = htons(n->port)};
	struct sockaddr_in6 from6, to6;
	struct sockaddr *f = (struct sockaddr *)&from, *t = (struct sockaddr *)&to;
	socklen_t len = sizeof(from);

	s->have = s->taken = 0;
	if (s->from != NULL) {
		from6 = sockaddr_of(s->from, 0);
		to6 = sockaddr_of(s->to, n->port);
		f = (struct sockaddr *)&from6;
		t = (struct sockaddr *)&to6;
		len = sizeof(from6);
	}
	s->fd = script_socket(s, f, t, len);
	assert_true(connect(s->fd, t, len) == 0 || errno == EINPROGRESS);
}

/* The pending error of the connection, 0 if none. */
static inline int
script_error(const struct script *s)
{
	socklen_t len = sizeof(int);
	int error = 0;

	assert_int_equal(getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return error;
}

/* From 127.0.0.`last` to the node. rcvbuf 0: the default. */
static inline void
script_connect(struct script *s, const struct node *n, unsigned last, int rcvbuf)
{
	struct pollfd p = {.events = POLLOUT};

	s->rcvbuf = rcvbuf;
	script_knock(s, n, last);
	p.fd = s->fd;
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(script_error(s), 0);
	assert_int_equal(fcntl(s->fd, F_SETFL, 0), 0);
}

/*
 * Listens on 127.0.0.2, where the node connects to the script. SYNs of accepted connections are
 * kept (TCP_SAVED_SYN).
 */
static inline int
script_listen(const struct script *s, uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u)};
	struct sockaddr_in node = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u)};
	socklen_t len = sizeof(a);
	int fd = script_socket(s, (struct sockaddr *)&a, (struct sockaddr *)&node, len), one = 1;

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof(one)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* Accepts the node's connection. */
static inline void
script_accept(struct script *s, int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	s->have = s->taken = 0;
	s->fd = accept(listener, NULL, NULL);
	assert_true(s->fd >= 0);
}

static inline void
script_close(struct script *s)
{
	close(s->fd);
	s->fd = -1;
}

static inline void
script_send(struct script *s, const void *p, size_t len)
{
	assert_int_equal(send(s->fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next message; NULL: end of file (or a reset), or no message before the timeout. */
static inline const uint8_t *
script_read(struct script *s, int timeout_ms)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};

	memmove(s->buf, s->buf + s->taken, s->have - s->taken);
	s->have -= s->taken;
	s->taken = 0;
	for (;;) {
		ssize_t n;

		if (s->have >= BGP_HEADER_LEN) {
			assert_int_equal(
				bgp_header_decode(s->buf, sizeof(s->buf), &s->type, &s->len)
					.severity,
				BGP_OK);
			if (s->have >= s->len) {
				s->taken = s->len;
				return s->buf;
			}
		}
		if (poll(&p, 1, timeout_ms) != 1)
			return NULL;
		n = recv(s->fd, s->buf + s->have, sizeof(s->buf) - s->have, 0);
		if (n <= 0)
			return NULL;
		s->have += (size_t)n;
	}
}

static inline struct bgp_open_options
script_open(uint32_t asn, uint32_t id)
{
	return (struct bgp_open_options){.asn = asn,
		.identifier = id,
		.hold_time_s = 90,
		.families = 1u << FAMILY_IPV4_UNICAST,
		.route_refresh = true,
		.enhanced_route_refresh = true,
		.four_octet_as = true,
		.graceful_restart = true};
}

static inline void
script_send_open(struct script *s, const struct bgp_open_options *o)
{
	uint8_t msg[BGP_MSG_MAX];

	script_send(s, msg, bgp_open_encode(o, msg, sizeof(msg)));
}

static inline void
script_send_keepalive(struct script *s)
{
	uint8_t msg[BGP_HEADER_LEN];

	script_send(s, msg, bgp_keepalive_encode(msg, sizeof(msg)));
}

/* Connects until the node answers with its OPEN: the node may be in idle hold. */
static inline void
script_greet(struct script *s, const struct node *n, unsigned last)
{
	uint64_t until = now_ns() + WAIT_MS * 1000000ull;

	for (;;) {
		script_connect(s, n, last, 0);
		if (script_read(s, WAIT_MS) != NULL && s->type == BGP_OPEN)
			return;
		script_close(s);
		assert_true(now_ns() < until);
		breathe();
	}
}

/* To Established, on our side: OPENs and KEEPALIVEs are exchanged. */
static inline void
script_establish(
	struct script *s, const struct node *n, unsigned last, const struct bgp_open_options *o)
{
	script_greet(s, n, last);
	script_send_open(s, o);
	assert_non_null(script_read(s, WAIT_MS));
	assert_int_equal(s->type, BGP_KEEPALIVE);
	script_send_keepalive(s);
}

/* Skips KEEPALIVEs. */
static inline const uint8_t *
script_next(struct script *s)
{
	const uint8_t *p;

	do {
		p = script_read(s, WAIT_MS);
	} while (p != NULL && s->type == BGP_KEEPALIVE);
	return p;
}

/*
 * Decodes the message read last, an UPDATE without an error, at `p`. `families`: bits. The
 * attributes are valid until the next call on this thread.
 */
static inline const struct attr_set *
script_decode(const struct script *s, const uint8_t *p, unsigned families, struct bgp_update *u)
{
	static _Thread_local union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	struct bgp_update_options o = {.as4 = true, .families = families, .external = true};

	assert_non_null(p);
	assert_int_equal(s->type, BGP_UPDATE);
	bgp_update_decode(p, s->len, &o, &attrs.a, u);
	assert_int_equal(u->error.severity, BGP_OK);
	return &attrs.a;
}

/* Number of prefixes in a field of an UPDATE; consumes the field. */
static inline unsigned
script_prefixes(struct bgp_nlri_field *f)
{
	struct nlri nlri;
	unsigned count = 0;

	while (nlri_read(&f->nlri, f->family, false, &nlri))
		count++;
	return count;
}

/*
 * Reads until the End-of-RIB (-1) or a ROUTE-REFRESH of `subtype`; returns the number of announced
 * prefixes. With `med`, stops at the first announcement and stores its MED.
 */
static inline unsigned
script_read_routes(struct script *s, int subtype, uint32_t *med)
{
	unsigned count = 0;
	const uint8_t *p;

	while ((p = script_next(s)) != NULL) {
		const struct attr_set *attrs;
		struct bgp_update u;
		struct bgp_refresh r;

		if (s->type == BGP_ROUTE_REFRESH) {
			assert_int_equal(bgp_refresh_decode(p, s->len, true, &r).severity, BGP_OK);
			assert_int_equal(r.subtype, subtype);
			return count;
		}
		attrs = script_decode(s, p, 1, &u);
		if (u.end_of_rib) {
			assert_int_equal(subtype, -1);
			return count;
		}
		for (unsigned i = 0; i < u.announced_count; i++)
			count += script_prefixes(&u.announced[i]);
		if (med != NULL && u.announced_count > 0) {
			*med = attrs->med;
			return count;
		}
	}
	fail_msg("the connection ended");
	return 0;
}

static inline void
script_expect_notification(struct script *s, uint8_t code, uint8_t subcode)
{
	struct bgp_notification n;
	const uint8_t *p;

	do {
		p = script_read(s, WAIT_MS);
	} while (p != NULL && s->type != BGP_NOTIFICATION);
	if (p == NULL)
		fail_msg("no NOTIFICATION, instead of %u/%u", code, subcode);
	assert_int_equal(bgp_notification_decode(p, s->len, &n).severity, BGP_OK);
	if (n.code != code || n.subcode != subcode)
		fail_msg("NOTIFICATION %u/%u, not %u/%u", n.code, n.subcode, code, subcode);
}

union script_attrs {
	struct attr_set a;
	uint8_t room[512];
};

static inline void
script_attrs(union script_attrs *out, uint32_t asn, uint32_t next_hop)
{
	memset(out, 0, sizeof(*out));
	out->a.next_hop = addr_from_v4(next_hop);
	if (asn != 0) {
		const uint8_t path[] = {2, 1, (uint8_t)(asn >> 24), (uint8_t)(asn >> 16),
			(uint8_t)(asn >> 8), (uint8_t)asn};

		memcpy(out->a.var, path, sizeof(path));
		out->a.as_path_len = sizeof(path);
	}
	attr_set_derive(&out->a);
}

/*
 * One UPDATE with `count` prefixes ADDR/24, ADDR+256/24 ...; withdraws when `attrs` is NULL.
 * Returns the length.
 */
static inline size_t
script_update(uint8_t *msg, const struct attr_set *attrs, uint32_t addr, unsigned count)
{
	struct bgp_encode_options o = {.as4 = true, .send_communities = true};
	struct update_packer u;

	assert_true(update_packer_begin(&u, FAMILY_IPV4_UNICAST, attrs, &o, msg, BGP_MSG_MAX));
	for (unsigned i = 0; i < count; i++) {
		struct prefix p = prefix_from_v4(addr + i * 256, 24);

		assert_true(update_packer_add(&u, &p, 0));
	}
	return update_packer_finish(&u);
}

static inline void
script_send_update(struct script *s, const struct attr_set *attrs, uint32_t addr, unsigned count)
{
	uint8_t msg[BGP_MSG_MAX];

	script_send(s, msg, script_update(msg, attrs, addr, count));
}

static inline void
script_send_refresh(struct script *s, enum refresh_subtype subtype)
{
	uint8_t msg[64];

	script_send(s, msg, bgp_refresh_encode(FAMILY_IPV4_UNICAST, subtype, msg, sizeof(msg)));
}

/* Sends an UPDATE with one prefix of a family; withdraws when `attrs` is NULL. */
static inline void
script_send_prefix(
	struct script *s, enum family f, const struct attr_set *attrs, const char *prefix)
{
	struct bgp_encode_options o = {
		.as4 = true, .send_communities = true, .extended_next_hop = true};
	uint8_t msg[BGP_MSG_MAX];
	struct update_packer u;
	struct prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	assert_true(update_packer_begin(&u, f, attrs, &o, msg, sizeof(msg)));
	assert_true(update_packer_add(&u, &p, 0));
	script_send(s, msg, update_packer_finish(&u));
}

static inline void
script_send_end_of_rib(struct script *s, enum family f)
{
	uint8_t msg[64];

	script_send(s, msg, bgp_end_of_rib_encode(f, msg, sizeof(msg)));
}

static inline void
script_send_notification(
	struct script *s, uint8_t code, uint8_t subcode, const char *data, size_t len)
{
	uint8_t msg[512];

	script_send(s, msg,
		bgp_notification_encode(
			code, subcode, (const uint8_t *)data, len, msg, sizeof(msg)));
}
