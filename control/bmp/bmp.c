/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bmp/bmp_impl.h"

#include "control/base/log.h"
#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"
#include "rib/table/journal.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLL_NS 10000000u /* the sources are polled: changes wake no thread */
#define CONNECT_NS (10 * SECOND)
#define BACKOFF_MAX_S 60u
#define DOWN_NS (30 * SECOND) /* a restart of a collector is no alarm */
#define SOCKET_SIZE (256 << 10)
#define RESYNC_NS SECOND /* without a further loss */

/* ---- output ---- */

static void
update_close(struct collector *c)
{
	struct open_update *u = &c->update;
	struct wr w;

	if (!u->open)
		return;
	u->open = false;
	c->tail = u->at + BMP_HEADER_LEN + update_packer_finish(&u->packer);
	w = (struct wr){.p = c->out + c->tail, .end = c->out + OUT_SIZE, .start = c->out};
	bmp_end(&w, u->at);
	c->messages++;
}

bool
out_begin(struct collector *c, struct wr *w)
{
	update_close(c);
	if (OUT_SIZE - c->tail < OUT_ROOM && c->head > 0) {
		memmove(c->out, c->out + c->head, c->tail - c->head);
		c->tail -= c->head;
		c->head = 0;
	}
	if (OUT_SIZE - c->tail < OUT_ROOM)
		return false;
	*w = (struct wr){.p = c->out + c->tail, .end = c->out + OUT_SIZE, .start = c->out};
	return true;
}

void
out_end(struct collector *c, struct wr *w, size_t at)
{
	bmp_end(w, at);
	if (w->bad)
		return;
	c->tail = wr_len(w);
	c->messages++;
}

size_t
out_waits(const struct collector *c)
{
	return c->tail - c->head;
}

void
collector_lost(struct collector *c, unsigned peer)
{
	bit_set(c->resync, peer);
	c->resync_ns = now_ns();
}

/* ---- sessions ---- */

/* RFC 9069 4.4: the VRF/Table Name. */
static void
loc_name_put(const struct bmp *b, struct wr *w, unsigned id)
{
	const char *name = id == LOC ? "global" : b->instance[id - PEER_MAX].name;

	bmp_tlv(w, 3, name, strlen(name));
}

/* RFC 7854 4.10, RFC 9069 4.4 */
static bool
peer_up_put(struct collector *c, unsigned id)
{
	struct bmp *b = c->bmp;
	const struct monitored *m = b->peer[id];
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	at = bmp_begin(&w, BMP_PEER_UP, &m->head, m->since_ns);
	bmp_address(&w, &m->local);
	wr_u16(&w, m->local_port);
	wr_u16(&w, m->remote_port);
	wr_bytes(&w, m->octets, m->sent_len);
	wr_bytes(&w, m->octets + m->sent_len, m->received_len);
	if (is_loc(id))
		loc_name_put(b, &w, id);
	out_end(c, &w, at);
	bit_set(c->told, id);
	c->told_count[id] = m->count;
	bit_set(c->want, id);
	bit_clear(c->resync, id);
	return true;
}

/* RFC 7854 4.9, RFC 9069 4.5. `resync`: the session stays up. */
static bool
peer_down_put(struct collector *c, unsigned id, const struct monitored *m, bool resync)
{
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	at = bmp_begin(&w, BMP_PEER_DOWN, &m->head, wall_ns());
	if (is_loc(id)) {
		wr_u8(&w, 6);
		loc_name_put(c->bmp, &w, id);
	} else if (resync) {
		wr_u8(&w, BMP_DOWN_CONFIG);
	} else if (m->fall_len > 0) {
		wr_u8(&w, m->fall_sent ? BMP_DOWN_SENT : BMP_DOWN_RECEIVED);
		wr_bytes(&w, m->octets + m->sent_len + m->received_len, m->fall_len);
	} else if (m->fall_event != 0) {
		wr_u8(&w, BMP_DOWN_LOCAL);
		wr_u16(&w, m->fall_event);
	} else {
		wr_u8(&w, BMP_DOWN_LOST);
	}
	out_end(c, &w, at);
	bit_clear(c->told, id);
	bit_clear(c->want, id);
	bit_clear(c->walked, id);
	bit_clear(c->statistics, id);
	bit_clear(c->statistics_wait, id);
	return true;
}

static bool
wanted(const struct collector *c, unsigned id)
{
	return is_loc(id) ? (c->config.views & BMP_LOC) != 0 : (c->config.views & ~BMP_LOC) != 0;
}

/* Peer Down, if the session that the collector knows has ended. False: no room. */
static bool
peer_check_down(struct collector *c, unsigned id)
{
	const struct monitored *m = c->bmp->peer[id];

	return !bit(c->told, id) || (m != NULL && m->up && m->count == c->told_count[id]) ||
	       peer_down_put(c, id, m, false);
}

/* Peer Up, if the collector does not know the session. False: no room. */
static bool
peer_check_up(struct collector *c, unsigned id)
{
	const struct monitored *m = c->bmp->peer[id];

	if (m != NULL && m->up && wanted(c, id) && !bit(c->told, id) && !peer_up_put(c, id))
		return false;
	bit_clear(c->check, id);
	return true;
}

static bool
peer_resync(struct collector *c, unsigned id)
{
	const struct monitored *m = c->bmp->peer[id];

	if (bit(c->told, id)) {
		if (!peer_down_put(c, id, m, true))
			return false;
		c->resyncs++;
		bit_set(c->check, id);
	}
	bit_clear(c->resync, id);
	return true;
}

static void
sessions_run(struct collector *c)
{
	bool room = true;

	/* All ends first: a peer of a range may be back with another id. */
	for (unsigned i = 0; room && (i = bit_next(c->check, i)) < ENTITIES; i++)
		room = peer_check_down(c, i);
	for (unsigned i = 0; room && (i = bit_next(c->check, i)) < ENTITIES; i++)
		room = peer_check_up(c, i);
	if (bit_next(c->resync, 0) == ENTITIES || now_ns() - c->resync_ns < RESYNC_NS ||
		out_waits(c) > OUT_WALK)
		return;
	for (unsigned i = 0; room && (i = bit_next(c->resync, i)) < ENTITIES; i++)
		room = peer_resync(c, i);
}

bool
follows(struct collector *c, unsigned id)
{
	if (!bit(c->told, id) || bit(c->resync, id))
		return false;
	if (bit(c->check, id))
		collector_lost(c, id);
	return !bit(c->check, id);
}

/* RFC 7854 4.2, RFC 9069 4.1: names the instance in the header. */
static void
head_instance(const struct bmp *b, struct monitored *m, bool loc)
{
	const struct instance *i = &b->instance[m->vrf.v];

	m->head.type = loc ? BMP_PEER_LOC : BMP_PEER_GLOBAL;
	m->head.distinguisher = 0;
	if (m->vrf.v == VRF_DEFAULT.v)
		return;
	m->head.distinguisher = i->rd.v != 0 ? i->rd.v : m->vrf.v;
	if (!loc)
		m->head.type = i->rd.v != 0 ? BMP_PEER_RD : BMP_PEER_LOCAL;
}

/* Takes over the report of the session thread. False: no memory, ask again. */
static bool
monitored_set(struct bmp *b, const struct session_monitor *s)
{
	struct monitored *m = b->peer[s->id.v], *now;
	bool keeps = m != NULL && !s->up; /* the Peer Down has the header of the Peer Up */
	uint16_t sent = keeps ? m->sent_len : s->sent_len,
		 received = keeps ? m->received_len : s->received_len;

	if (m == NULL && !s->up)
		return true;
	now = arena_calloc(b->arena, sizeof(*m) + (size_t)sent + received + s->fall_len);
	if (now == NULL)
		return false;
	if (keeps) {
		*now = *m;
		memcpy(now->octets, m->octets, (size_t)sent + received);
	} else {
		now->vrf = s->vrf;
		now->head = (struct bmp_peer){
			.flags = (uint8_t)((s->remote.afi == AFI_IPV6 ? BMP_FLAG_IPV6 : 0) |
					   (s->as4 ? 0 : BMP_FLAG_AS2)),
			.addr = s->remote,
			.asn = s->asn,
			.identifier = s->identifier};
		head_instance(b, now, false);
		now->as4 = s->as4;
		now->families = s->families;
		now->since_ns = s->since_ns;
		now->local = s->local;
		now->local_port = s->local_port;
		now->remote_port = s->remote_port;
		now->sent_len = sent;
		now->received_len = received;
		memcpy(now->octets, s->sent, sent);
		memcpy(now->octets + sent, s->received, received);
	}
	memcpy(now->advertised, s->advertised, sizeof(now->advertised));
	now->up = s->up;
	now->count = s->count;
	now->fall_sent = s->fall_sent;
	now->fall_event = s->fall_event;
	now->fall_len = s->fall_len;
	memcpy(now->octets + sent + received, s->fall, s->fall_len);
	arena_free(b->arena, m);
	b->peer[s->id.v] = now;
	return true;
}

/* A removed peer. The report stays, for the Peer Down. */
static void
monitored_gone(struct bmp *b, unsigned id)
{
	if (b->peer[id] != NULL)
		b->peer[id]->up = false;
}

/* True if a collector knows a session of another peer by this id: its Peer Down needs the old report. */
static bool
known_as_other(const struct bmp *b, const struct session_monitor *s)
{
	const struct monitored *m = b->peer[s->id.v];
	bool told = false;

	for (unsigned i = 0; i < b->count; i++)
		told |= bit(b->collector[i]->told, s->id.v);
	return told && m != NULL &&
	       (m->vrf.v != s->vrf.v || !addr_equal(&m->head.addr, &s->remote));
}

static void
on_answer(void *arg) RUNS_ON(role_bmp)
{
	struct ask *a = arg;
	struct bmp *b = a->bmp;

	a->sent = false;
	for (unsigned i = 0; i < a->count; i++) {
		bool other = known_as_other(b, &a->at[i]);

		if (other)
			monitored_gone(b, a->at[i].id.v);
		if (other || !monitored_set(b, &a->at[i]))
			bit_set(b->changed, a->at[i].id.v); /* again, after the Peer Down */
		for (unsigned k = 0; k < b->count; k++) {
			struct collector *c = b->collector[k];

			bit_set(c->check, a->at[i].id.v);
			if (bit(c->statistics_wait, a->at[i].id.v))
				bit_set(c->statistics, a->at[i].id.v);
			bit_clear(c->statistics_wait, a->at[i].id.v);
		}
	}
	for (unsigned id = 0; (id = bit_next(a->gone, id)) < ENTITIES; id++) {
		monitored_gone(b, id);
		for (unsigned k = 0; k < b->count; k++)
			bit_set(b->collector[k]->check, id);
	}
	bits_add(b->changed, a->peers); /* not asked about yet */
}

static void
on_session(void *arg) RUNS_ON(role_session)
{
	struct ask *a = arg;
	const struct layers *l = a->bmp->config.layers;

	a->count = 0;
	memset(a->gone, 0, sizeof(a->gone));
	/* all that are gone first: a peer of a range may be back with another id */
	for (unsigned id = 0; (id = bit_next(a->peers, id)) < ENTITIES; id++) {
		if (session_gone(l->speaker, (struct peer_id){(uint16_t)id})) {
			bit_clear(a->peers, id);
			bit_set(a->gone, id);
		}
	}
	for (unsigned id = 0; a->count < ASKED && (id = bit_next(a->peers, id)) < ENTITIES; id++) {
		bit_clear(a->peers, id);
		if (session_monitor_peek(
			    l->speaker, (struct peer_id){(uint16_t)id}, &a->at[a->count]))
			a->count++;
	}
	layers_send_bmp(l, &a->mail, on_answer, a);
}

static void
sessions_ask(struct bmp *b) RUNS_ON(role_bmp)
{
	(void)speaker_monitor_changed(b->config.layers->speaker, b->changed);
	bit_clear(b->changed, LOC);
	if (b->ask.sent || bit_next(b->changed, 0) == ENTITIES)
		return;
	memcpy(b->ask.peers, b->changed, sizeof(b->changed));
	memset(b->changed, 0, sizeof(b->changed));
	b->ask.sent = true;
	layers_send_session(b->config.layers, &b->ask.mail, on_session, &b->ask);
}

/* RFC 9069 4.4: the OPENs of the Loc-RIB of an instance. 0, -ENOMEM. */
static int
loc_create(struct bmp *b, struct vrf_id vrf)
{
	const unsigned unicast = 1u << FAMILY_IPV4_UNICAST | 1u << FAMILY_IPV6_UNICAST,
		       all = (1u << FAMILY_COUNT) - 1;
	struct bgp_open_options o = {.asn = b->asn,
		.identifier = b->router_id,
		.families = vrf.v == VRF_DEFAULT.v ? all : unicast,
		.four_octet_as = true};
	uint8_t open[512];
	size_t len = bgp_open_encode(&o, open, sizeof(open));
	struct monitored *m = arena_calloc(b->arena, sizeof(*m) + 2 * len),
			 **at = &b->peer[loc_of(vrf)];

	if (m == NULL)
		return -ENOMEM;
	m->vrf = vrf;
	m->head = (struct bmp_peer){.asn = b->asn, .identifier = b->router_id};
	head_instance(b, m, true);
	m->up = m->as4 = true;
	m->count = *at != NULL ? (*at)->count + 1 : 1;
	m->families = (uint8_t)o.families;
	m->since_ns = wall_ns();
	m->sent_len = m->received_len = (uint16_t)len;
	memcpy(m->octets, open, len);
	memcpy(m->octets + len, open, len);
	arena_free(b->arena, *at);
	*at = m;
	return 0;
}

/* ---- statistics ---- */

/* RFC 8671 6.2. Returns the number of entries. */
static unsigned
statistics_out(struct wr *w, const struct monitored *m)
{
	unsigned entries = 1;
	uint64_t sum = 0;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		sum += m->advertised[f];
	bmp_gauge(w, BMP_STAT_ADJ_OUT, sum);
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(m->families >> f & 1))
			continue;
		bmp_gauge_family(w, BMP_STAT_ADJ_OUT_FAMILY, f, m->advertised[f]);
		entries++;
	}
	return entries;
}

/* RFC 7854 4.8. False: no room. */
static bool
statistics_put(struct collector *c, unsigned id)
{
	const struct shards *s = &c->bmp->config.layers->shards;
	const struct monitored *m = c->bmp->peer[id];
	struct adj_rib_in_counts counts;
	uint64_t sum = 0, rejected = 0, of[FAMILY_COUNT] = {0};
	unsigned families = 0, entries = 0;
	struct shards_table t;
	struct wr w;
	uint8_t *count;
	size_t at;

	if (!out_begin(c, &w))
		return false;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(m->families >> f & 1))
			continue;
		families |= 1u << f;
		if (!is_loc(id)) {
			shards_peer_counts(s, (struct peer_id){(uint16_t)id}, f, &counts);
			of[f] = counts.received;
			rejected += counts.rejected_total;
		} else if (table_of(c->bmp, m->vrf, f, &t)) {
			for (unsigned i = 0; i < s->count; i++)
				of[f] += t.at[i] != NULL ? dest_count(t.at[i]) : 0;
		}
		sum += of[f];
	}
	at = bmp_begin(&w, BMP_STATISTICS, &m->head, wall_ns());
	count = w.p;
	wr_u32(&w, 0);
	if (!is_loc(id)) {
		bmp_counter(&w, BMP_STAT_REJECTED, (uint32_t)rejected);
		entries++;
	}
	bmp_gauge(&w, is_loc(id) ? BMP_STAT_LOC : BMP_STAT_ADJ_IN, sum);
	entries++;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (!(families >> f & 1))
			continue;
		bmp_gauge_family(
			&w, is_loc(id) ? BMP_STAT_LOC_FAMILY : BMP_STAT_ADJ_IN_FAMILY, f, of[f]);
		entries++;
	}
	if (!is_loc(id) && (c->config.views & BMP_ADJ_OUT))
		entries += statistics_out(&w, m);
	if (!w.bad)
		count[3] = (uint8_t)entries;
	out_end(c, &w, at);
	return true;
}

static void
statistics_run(struct collector *c)
{
	if (c->config.statistics_s > 0 && now_ns() >= c->statistics_ns) {
		memcpy(c->statistics, c->told, sizeof(c->told));
		/* the counts of Adj-RIB-Out come from the session thread */
		for (unsigned i = 0; (c->config.views & BMP_ADJ_OUT) && i < PEER_WORDS; i++) {
			c->statistics_wait[i] = i == 0 ? c->told[i] & ~(1ull << LOC) : c->told[i];
			c->statistics[i] &= ~c->statistics_wait[i];
			c->bmp->changed[i] |= c->statistics_wait[i];
		}
		c->statistics_ns = now_ns() + c->config.statistics_s * SECOND;
	}
	for (unsigned i = 0; (i = bit_next(c->statistics, i)) < ENTITIES; i++) {
		if (out_waits(c) > OUT_WALK || !statistics_put(c, i))
			return;
		bit_clear(c->statistics, i);
	}
}

/* ---- connections ---- */

static unsigned
collector_index(const struct collector *c)
{
	unsigned i = 0;

	while (c->bmp->collector[i] != c)
		i++;
	return i;
}

static void
down_note(struct collector *c)
{
	atomic_store_explicit(&c->bmp->down_since_ns[collector_index(c)],
		c->state == UP ? 0 : c->down_ns, memory_order_relaxed);
}

static void
collector_close(struct collector *c, const char *reason) RUNS_ON(role_bmp)
{
	if (c->watch.fd < 0)
		return;
	(void)watch_set(c->bmp->thread, &c->watch, 0);
	close(c->watch.fd);
	c->watch.fd = -1;
	c->connect_ns = now_ns() + c->backoff_s * SECOND;
	c->backoff_s = c->backoff_s * 2 < BACKOFF_MAX_S ? c->backoff_s * 2 : BACKOFF_MAX_S;
	if (c->state == UP || strcmp(c->reason, reason) != 0) {
		snprintf(c->reason, sizeof(c->reason), "%s", reason);
		log_event(LOG_WARNING, "bmp-down collector=%s reason=\"%s\"", c->name, reason);
	}
	if (c->state == UP)
		c->down_ns = now_ns();
	c->state = DOWN;
	c->update.open = false;
	c->head = c->tail = 0;
	c->walk = WALK_NONE;
	memset(c->told, 0, sizeof(c->told));
	memset(c->check, 0, sizeof(c->check));
	memset(c->resync, 0, sizeof(c->resync));
	memset(c->want, 0, sizeof(c->want));
	memset(c->walked, 0, sizeof(c->walked));
	memset(c->statistics, 0, sizeof(c->statistics));
	memset(c->statistics_wait, 0, sizeof(c->statistics_wait));
	arena_free(c->bmp->arena, c->out);
	c->out = NULL;
	down_note(c);
}

static socklen_t
sockaddr_of(const struct config_bmp *k, struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (k->addr.afi == AFI_IPV4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(k->port);
		memcpy(&v4->sin_addr, k->addr.b, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(k->port);
	memcpy(&v6->sin6_addr, k->addr.b, 16);
	if (k->addr.zone != 0)
		v6->sin6_scope_id = if_nametoindex(zone_name(k->addr.zone));
	return sizeof(*v6);
}

static void
collector_connect(struct collector *c) RUNS_ON(role_bmp)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(&c->config, &ss);
	int sndbuf = SOCKET_SIZE;
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

	c->out = fd >= 0 ? arena_alloc(c->bmp->arena, OUT_SIZE) : NULL;
	if (c->out == NULL) {
		c->connect_ns = now_ns() + c->backoff_s * SECOND;
		snprintf(c->reason, sizeof(c->reason), "%s",
			strerrordesc_np(fd < 0 ? errno : ENOMEM));
		if (fd >= 0)
			close(fd);
		return;
	}
	c->connect_ns = now_ns() + CONNECT_NS;
	c->watch.fd = fd;
	c->state = CONNECTING;
	/* a collector that stalls holds no more than this in the kernel */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)) < 0)
		rc = -errno;
	if (rc == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		rc = -errno;
	if (rc == 0)
		rc = watch_set(c->bmp->thread, &c->watch, EPOLLOUT);
	if (rc != 0)
		collector_close(c, strerrordesc_np(-rc));
}

/* RFC 7854 4.3 */
static void
initiation_put(struct collector *c)
{
	char text[128], host[65] = "keel";
	struct wr w;
	size_t at;

	if (!out_begin(c, &w))
		return;
	at = bmp_begin(&w, BMP_INITIATION, NULL, 0);
	snprintf(text, sizeof(text), "Keel %s", c->bmp->config.version);
	(void)gethostname(host, sizeof(host) - 1);
	bmp_tlv(&w, 1, text, strlen(text));
	bmp_tlv(&w, 2, host, strlen(host));
	out_end(c, &w, at);
}

static void
collector_connected(struct collector *c) RUNS_ON(role_bmp)
{
	struct bmp *b = c->bmp;

	c->state = UP;
	c->backoff_s = 1;
	c->reason[0] = '\0';
	c->up_ns = c->progress_ns = now_ns();
	c->statistics_ns = now_ns() + c->config.statistics_s * SECOND;
	c->connections++;
	down_note(c);
	log_event(LOG_INFO, "bmp-up collector=%s", c->name);
	initiation_put(c);
	for (unsigned id = 0; id < ENTITIES; id++)
		if (b->peer[id] != NULL)
			bit_set(c->check, id);
}

static void
collector_flush(struct collector *c) RUNS_ON(role_bmp)
{
	bool some = false;

	update_close(c);
	while (c->head < c->tail) {
		ssize_t n = send(c->watch.fd, c->out + c->head, c->tail - c->head, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			collector_close(c, strerrordesc_np(errno));
			return;
		}
		c->head += (size_t)n;
		c->octets += (size_t)n;
		some = true;
	}
	if (c->head == c->tail)
		c->head = c->tail = 0;
	if (some || c->tail == 0)
		c->progress_ns = now_ns();
	if (now_ns() - c->progress_ns >= c->config.stall_s * SECOND) {
		c->stalls++;
		collector_close(c, "the collector accepts no octets");
		return;
	}
	if (watch_set(c->bmp->thread, &c->watch, EPOLLIN | (c->tail > 0 ? EPOLLOUT : 0u)) != 0)
		collector_close(c, strerrordesc_np(ENOMEM));
}

static void
collector_tick(struct collector *c) RUNS_ON(role_bmp)
{
	uint64_t now = now_ns();

	if (c->state == CONNECTING && now >= c->connect_ns)
		collector_close(c, strerrordesc_np(ETIMEDOUT));
	if (c->state == DOWN && now >= c->connect_ns)
		collector_connect(c);
}

static void
collector_ready(struct watch *w, uint32_t events)
{
	struct collector *c =
		(struct collector *)(void *)((char *)w - offsetof(struct collector, watch));
	int error = 0;
	socklen_t len = sizeof(error);
	uint8_t ignored[512];
	ssize_t n;

	role_enter_bmp();
	if (c->state == CONNECTING) {
		if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error != 0) {
			collector_close(c, strerrordesc_np(error));
			return;
		}
		collector_connected(c);
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		/* RFC 7854 3.2: a collector sends nothing */
		n = recv(w->fd, ignored, sizeof(ignored), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			collector_close(
				c, n == 0 ? "closed by the collector" : strerrordesc_np(errno));
			return;
		}
	}
	collector_flush(c);
}

/* ---- the thread ---- */

static bool
bmp_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct bmp *b = ctx;
	bool more;

	role_enter_bmp();
	if (b->count == 0)
		return false;
	sessions_ask(b);
	do {
		qsbr_online(b->config.layers->readers, b->reader);
		for (unsigned i = 0; i < b->count; i++)
			if (b->collector[i]->state == UP)
				sessions_run(b->collector[i]);
		more = changes_run(b);
		more |= journal_run(b);
		for (unsigned i = 0; i < b->count; i++) {
			struct collector *c = b->collector[i];

			if (c->state != UP)
				continue;
			more |= walk_run(c);
			statistics_run(c);
		}
		out_send(b);
		qsbr_offline(b->config.layers->readers, b->reader);
		now = now_ns();
	} while (more && now < deadline);
	for (unsigned i = 0; i < b->count; i++) {
		if (b->collector[i]->state == UP)
			collector_flush(b->collector[i]);
		collector_tick(b->collector[i]);
	}
	return more;
}

static void
poll_fire(struct timer *t)
{
	struct bmp *b = (struct bmp *)(void *)((char *)t - offsetof(struct bmp, poll));

	role_enter_bmp();
	if (b->count > 0)
		(void)timer_arm(b->thread, t, b->out_busy ? OUT_PAUSE_NS : POLL_NS);
}

/* ---- configuration ---- */

static void
collector_free(struct collector *c) RUNS_ON(role_bmp)
{
	if (c->watch.fd >= 0) {
		(void)watch_set(c->bmp->thread, &c->watch, 0);
		close(c->watch.fd);
	}
	arena_free(c->bmp->arena, c->out);
	arena_free(c->bmp->arena, c);
}

/* RFC 7854 4.5: the last message, if the collector accepts it at once. */
static void
collector_end(struct collector *c) RUNS_ON(role_bmp)
{
	uint8_t closed[2] = {0, 0}; /* administratively closed */
	struct wr w;
	size_t at;

	if (c->state == UP && out_begin(c, &w)) {
		at = bmp_begin(&w, BMP_TERMINATION, NULL, 0);
		bmp_tlv(&w, 1, closed, sizeof(closed));
		out_end(c, &w, at);
		collector_flush(c);
	}
	collector_free(c);
}

static bool
same_collector(const struct config_bmp *a, const struct config_bmp *b)
{
	return addr_equal(&a->addr, &b->addr) && a->port == b->port && a->views == b->views &&
	       a->statistics_s == b->statistics_s && a->stall_s == b->stall_s;
}

static struct collector *
collector_find(const struct bmp *b, const struct config_bmp *k)
{
	for (unsigned i = 0; i < b->count; i++)
		if (same_collector(&b->collector[i]->config, k))
			return b->collector[i];
	return NULL;
}

/* NULL: no memory. */
static struct collector *
collector_new(struct bmp *b, const struct config_bmp *k)
{
	struct collector *c = arena_calloc(b->arena, sizeof(*c));
	char text[ADDR_TEXT_MAX];

	if (c == NULL)
		return NULL;
	c->bmp = b;
	c->config = *k;
	addr_format(&k->addr, text);
	snprintf(c->name, sizeof(c->name), k->addr.afi == AFI_IPV6 ? "[%s]:%u" : "%s:%u", text,
		k->port);
	c->watch = (struct watch){.fd = -1, .ready = collector_ready};
	c->backoff_s = 1;
	c->down_ns = now_ns();
	return c;
}

/* The cursor exists while a collector wants best routes. */
static void
cursor_set(struct bmp *b)
{
	struct journal *j = b->config.layers->journal;
	bool wants = false;

	for (unsigned i = 0; i < b->count; i++)
		wants |= (b->collector[i]->config.views & (BMP_LOC | BMP_ADJ_OUT_PRE)) != 0;
	if (wants && b->cursor == NULL && journal_subscribe(j, &b->cursor) != 0)
		b->cursor = NULL;
	if (!wants && b->cursor != NULL) {
		journal_unsubscribe(j, b->cursor);
		b->cursor = NULL;
		best_forget(b);
	}
}

/* An instance came, went, or has another name or distinguisher. */
static void
instance_set(struct bmp *b, struct vrf_id vrf, const struct config_vrf *v) RUNS_ON(role_bmp)
{
	struct instance *i = &b->instance[vrf.v];
	const struct instance was = *i;
	unsigned loc = loc_of(vrf);

	i->there = v != NULL || vrf.v == VRF_DEFAULT.v;
	if (v != NULL) {
		snprintf(i->name, sizeof(i->name), "%s", v->name);
		i->rd = v->rd;
	}
	/* headers name the distinguisher, so that all begins anew */
	if (was.there && i->there && was.rd.v != i->rd.v) {
		for (unsigned k = 0; k < b->count; k++)
			collector_close(b->collector[k], "a route distinguisher has changed");
		for (unsigned id = 0; id < ENTITIES; id++)
			if (b->peer[id] != NULL && b->peer[id]->vrf.v == vrf.v)
				head_instance(b, b->peer[id], is_loc(id));
	}
	if (i->there && (b->peer[loc] == NULL || !b->peer[loc]->up) && loc_create(b, vrf) != 0)
		log_event(LOG_WARNING, "bmp-down collector=all reason=\"%s\"",
			strerrordesc_np(ENOMEM));
	if (!i->there && b->peer[loc] != NULL)
		b->peer[loc]->up = false;
	for (unsigned k = 0; was.there != i->there && k < b->count; k++)
		bit_set(b->collector[k]->check, loc);
}

/* The instances of `c`; without a collector none. */
static void
instances_set(struct bmp *b, const struct config *c) RUNS_ON(role_bmp)
{
	if (c->bmp_count == 0)
		return;
	for (uint16_t v = 0; v < SHARD_VRFS_MAX; v++) {
		const struct config_vrf *is = config_vrf_find(c, (struct vrf_id){v});

		if (is != NULL || b->instance[v].there || v == VRF_DEFAULT.v)
			instance_set(b, (struct vrf_id){v}, is);
	}
}

static bool
wants_out(const struct config *c)
{
	bool wants = false;

	for (unsigned i = 0; i < c->bmp_count; i++)
		wants |= (c->bmp[i].views & BMP_ADJ_OUT) != 0;
	return wants;
}

struct configure_call {
	struct bmp *b;
	const struct config *c;
};

static void
on_configure(void *arg) RUNS_ON(role_bmp)
{
	const struct configure_call *call = arg;
	struct bmp *b = call->b;
	const struct config *c = call->c;
	unsigned kept = 0;

	b->asn = c->asn;
	b->router_id = c->router_id;
	instances_set(b, c);
	for (unsigned i = 0; i < b->count; i++)
		b->collector[i]->configured = false;
	for (unsigned i = 0; i < c->bmp_count; i++) {
		struct collector *k = collector_find(b, &c->bmp[i]);

		if (k != NULL)
			k->configured = true;
	}
	for (unsigned i = 0; i < b->count; i++) {
		if (b->collector[i]->configured)
			b->collector[kept++] = b->collector[i];
		else
			collector_end(b->collector[i]);
	}
	if (b->count == 0 && c->bmp_count > 0)
		memset(b->changed, 0xff,
			PEER_WORDS * sizeof(b->changed[0])); /* the first question */
	b->count = kept;
	for (unsigned i = 0; i < c->bmp_count; i++) {
		struct collector *k =
			collector_find(b, &c->bmp[i]) == NULL ? collector_new(b, &c->bmp[i]) : NULL;

		if (k != NULL)
			b->collector[b->count++] = k;
	}
	for (unsigned i = 0; i < b->count; i++)
		down_note(b->collector[i]);
	b->out_ready = wants_out(c);
	atomic_store_explicit(&b->configured, b->count, memory_order_relaxed);
	cursor_set(b);
	(void)timer_arm(b->thread, &b->poll, 1);
}

struct monitor_call {
	struct bmp *b;
	bool on;
};

static void
on_shard(void *arg) RUNS_ON(role_rib)
{
	struct shard_call *call = arg;
	const struct monitor_call *m = call->arg;

	shard_monitor(call->shard, m->on ? m->b->ring[call->index] : NULL);
}

/* Gives the rings to the shards, or takes them back. 0, -ENOMEM. */
static int
monitor_set(struct bmp *b, bool on) RUNS_ON(role_main)
{
	const struct layers *l = b->config.layers;
	struct monitor_call m = {b, on};
	struct shard_call call = {.arg = &m};

	if (b->monitoring == on)
		return 0;
	for (unsigned i = 0; on && i < l->shards.count; i++)
		if (b->ring[i] == NULL && path_ring_create(b->arena, &b->ring[i]) != 0)
			return -ENOMEM;
	layers_call_shards(l, on_shard, &call);
	b->monitoring = on;
	return 0;
}

static void
on_monitor_out(void *arg) RUNS_ON(role_session)
{
	const struct monitor_call *m = arg;

	speaker_monitor_out(m->b->config.layers->speaker, m->on ? m->b->out_ring : NULL);
}

/* As monitor_set(), for the names of the session thread. */
static int
monitor_out_set(struct bmp *b, bool on) RUNS_ON(role_main)
{
	struct monitor_call m = {b, on};

	if (b->monitoring_out == on)
		return 0;
	if (on && b->out_ring == NULL && path_ring_create(b->arena, &b->out_ring) != 0)
		return -ENOMEM;
	if (on && b->out_set == NULL)
		b->out_set = arena_alloc(b->arena, ATTR_SET_MAX);
	if (on && b->out.answer == NULL && b->out_set != NULL)
		b->out.answer = arena_alloc(b->arena, OUT_ANSWER);
	if (on && b->out.answer == NULL)
		return -ENOMEM;
	layers_call_session(b->config.layers, on_monitor_out, &m);
	b->monitoring_out = on;
	return 0;
}

void
bmp_configure(struct bmp *b, const struct config *c)
{
	struct configure_call call = {b, c};

	if (b->config.layers->bmp_thread == NULL)
		return;
	if ((c->bmp_count > 0 && monitor_set(b, true) != 0) ||
		(wants_out(c) && monitor_out_set(b, true) != 0)) {
		log_event(
			LOG_ERROR, "bmp-down collector=all reason=\"%s\"", strerrordesc_np(ENOMEM));
		return;
	}
	(void)layers_call_bmp(b->config.layers, on_configure, &call);
	if (c->bmp_count == 0)
		(void)monitor_set(b, false);
	if (!wants_out(c))
		(void)monitor_out_set(b, false);
}

/* ---- views ---- */

unsigned
bmp_collectors(const struct bmp *b, unsigned *down)
{
	unsigned count;

	*down = 0;
	if (b == NULL)
		return 0;
	count = atomic_load_explicit(&b->configured, memory_order_relaxed);
	for (unsigned i = 0; i < count; i++) {
		uint64_t since = atomic_load_explicit(&b->down_since_ns[i], memory_order_relaxed);

		*down += since != 0 && now_ns() - since >= DOWN_NS;
	}
	return count;
}

static json_t *
views_json(uint8_t views)
{
	static const char *const words[] = {
		"adj-in-pre", "adj-in", "loc", "adj-out-pre", "adj-out"};
	json_t *a = json_array();

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (views >> i & 1)
			json_array_append_new(a, json_string(words[i]));
	return a;
}

static json_t *
collector_json(const struct collector *c) RUNS_ON(role_bmp)
{
	static const char *const states[] = {"down", "connecting", "up"};
	char text[ADDR_TEXT_MAX];
	unsigned peers = 0;
	json_t *o;

	for (unsigned i = 0; i < PEER_WORDS; i++)
		peers += (unsigned)__builtin_popcountll(c->told[i]);
	peers -= bit(c->told, LOC);
	o = json_pack("{s:s, s:i, s:s, s:o, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "address",
		addr_format(&c->config.addr, text), "port", (int)c->config.port, "state",
		states[c->state], "views", views_json(c->config.views), "peers", (int)peers,
		"synced",
		c->state == UP && c->walk == WALK_NONE && bit_next(c->want, 0) == ENTITIES &&
			bit_next(c->check, 0) == ENTITIES && bit_next(c->resync, 0) == ENTITIES,
		"queued_octets", (json_int_t)out_waits(c), "messages", (json_int_t)c->messages,
		"octets", (json_int_t)c->octets, "connections", (json_int_t)c->connections,
		"resyncs", (json_int_t)c->resyncs, "stalls", (json_int_t)c->stalls);
	if (c->state == UP)
		json_object_set_new(
			o, "up_s", json_real((double)(now_ns() - c->up_ns) / (double)SECOND));
	if (c->reason[0] != '\0')
		json_object_set_new(o, "error", json_string(c->reason));
	return o;
}

struct summary_call {
	struct bmp *b;
	json_t *out;
};

static void
on_summary(void *arg) RUNS_ON(role_bmp)
{
	struct summary_call *call = arg;
	struct bmp *b = call->b;
	json_t *collectors = json_array();

	for (unsigned i = 0; i < b->count; i++)
		json_array_append_new(collectors, collector_json(b->collector[i]));
	call->out = json_pack("{s:o, s:I, s:I}", "collectors", collectors, "lost",
		(json_int_t)b->lost, "memory_bytes", (json_int_t)arena_bytes(b->arena));
}

json_t *
bmp_summary(struct bmp *b)
{
	struct summary_call call = {.b = b};

	if (layers_call_bmp(b->config.layers, on_summary, &call) != 0)
		return NULL;
	return call.out;
}

/* ---- life ---- */

static void
bmp_stop(void *ctx)
{
	struct bmp *b = ctx;

	role_enter_bmp();
	timer_cancel(b->thread, &b->poll);
	for (unsigned i = 0; i < b->count; i++)
		collector_end(b->collector[i]);
	b->count = 0;
	if (b->cursor != NULL)
		journal_unsubscribe(b->config.layers->journal, b->cursor);
	b->cursor = NULL;
}

static int
bmp_begin_thread(void *ctx, struct thread *self)
{
	struct bmp *b = ctx;

	b->thread = self;
	return qsbr_register(b->config.layers->readers, &b->reader);
}

int
bmp_create(const struct bmp_config *c, struct bmp **out)
{
	struct bmp *b = calloc(1, sizeof(*b));
	int err;

	if (b == NULL)
		return -ENOMEM;
	b->config = *c;
	b->ask.bmp = b;
	b->out.bmp = b;
	b->poll.fire = poll_fire;
	err = arena_create("bmp", &b->arena);
	if (err == 0) {
		b->attrs = arena_alloc(b->arena, ATTR_SET_MAX);
		b->all =
			arena_alloc(b->arena, sizeof(*b->all) + PEER_MAX * sizeof(b->all->path[0]));
		if (b->attrs == NULL || b->all == NULL)
			err = -ENOMEM;
	}
	if (err != 0)
		bmp_destroy(b);
	else
		*out = b;
	return err;
}

int
bmp_start(struct bmp *b, const unsigned *cpus, unsigned cpu_count, struct thread **out)
{
	struct thread_config c = {.name = "keel-bmp",
		.cpus = cpus,
		.cpu_count = cpu_count,
		.ctx = b,
		.start = bmp_begin_thread,
		.stop = bmp_stop,
		.work = bmp_work};

	return thread_create(&c, out);
}

void
bmp_destroy(struct bmp *b)
{
	if (b == NULL)
		return;
	if (b->arena != NULL) {
		for (unsigned i = 0; i < SHARDS_MAX; i++)
			path_ring_destroy(b->ring[i]);
		for (unsigned i = 0; i < ENTITIES; i++)
			arena_free(b->arena, b->peer[i]);
		path_ring_destroy(b->out_ring);
		best_forget(b);
		arena_free(b->arena, b->out_set);
		arena_free(b->arena, b->out.answer);
		arena_free(b->arena, b->attrs);
		arena_free(b->arena, b->all);
		arena_destroy(b->arena);
	}
	free(b);
}
