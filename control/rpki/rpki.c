/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpki/rpki.h"

#include "control/base/layers.h"
#include "control/base/log.h"
#include "control/config/config.h"
#include "control/rpki/rtr.h"
#include "lpm/base/arena.h"
#include "rib/shard/shard.h"
#include "rib/table/vrp.h"

#include <errno.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define CONNECT_NS (10 * SECOND)
#define BACKOFF_MAX_S 60u
#define READ_SIZE (64u << 10)
#define READS 4u /* in a turn: other caches and timers come next */
#define WAIT_SHARDS_NS 10000000u
#define UNSYNCED_NS (5 * SECOND) /* a restart of a cache is no alarm */
#define PASSWORD_MAX 80 /* limit of the kernel */
#define SETS_MAX (2 * CONFIG_RPKI_CACHES_MAX) /* in use at once: of caches, and of removed caches */
#define RANK_NONE (3 * (UINT8_MAX + 1u))
#define NAME_MAX_LEN (ADDR_TEXT_MAX + 8)

struct cache {
	struct rpki *rpki;
	struct ip_addr addr;
	uint16_t port;
	uint8_t preference;
	char password[PASSWORD_MAX + 1]; /* "": no TCP-MD5 */
	char name[NAME_MAX_LEN]; /* "192.0.2.1:323" */
	bool configured; /* named by the configuration that is being applied */
	unsigned added; /* the configuration that added the cache */
	struct rtr *rtr;
	struct watch watch; /* fd -1: no connection */
	bool connecting;
	uint64_t connect_ns; /* end of the attempt, or time of the next one */
	unsigned backoff_s;
	struct timer timer;
	bool used; /* the published records have the data of this cache */
	bool up; /* reported as up */
	char reason[RTR_TEXT_MAX]; /* of the last loss */
};

/*
 * Used data of a removed cache stays in use, at the rank of the cache, until the new caches have
 * answered, or until the data expires. A commit that replaces a cache makes no route `not-found`.
 */
struct leaving {
	struct vrps *vrps;
	unsigned rank;
	unsigned removed; /* the configuration that removed the cache */
	uint64_t expires_ns;
};

struct rpki {
	struct rpki_config config;
	struct arena *arena;
	struct thread *thread;
	struct cache *cache[CONFIG_RPKI_CACHES_MAX];
	unsigned count;
	unsigned configurations; /* applied so far */
	struct leaving leaving[CONFIG_RPKI_CACHES_MAX]; /* the oldest first */
	unsigned leaving_count;
	struct vrps *published; /* thread */
	/* the sets that `published` was made of, with references */
	struct vrps *source[SETS_MAX];
	unsigned source_count;
	uint64_t publications, changed_records;
	struct timer publish;
	/* for main: the number of caches, and since when none is synchronized (0: one is, or there is none) */
	_Atomic unsigned caches;
	_Atomic uint64_t unsynced_ns;
	struct vrps *vrps; /* main */
	uint8_t buffer[READ_SIZE];
};

/* ---- messages ---- */

/* To a shard, or to main (`shard` is the number of shards). */
struct publication {
	struct thread_mail mail;
	struct rpki *r;
	unsigned shard;
	struct vrps *vrps, *changed;
};

static void
publication_free(struct publication *p)
{
	vrps_unref(p->vrps);
	vrps_unref(p->changed);
	free(p);
}

static void
on_shard(void *arg) RUNS_ON(role_rib)
{
	struct publication *p = arg;

	shard_validation(p->r->config.layers->shards.at[p->shard], p->vrps, p->changed);
	publication_free(p);
}

static void
rpki_report(struct rpki *r, const char *topic, json_t *members) RUNS_ON(role_main)
{
	r->config.report(r->config.ctx, topic, members);
}

static void
on_main(void *arg) RUNS_ON(role_main)
{
	struct publication *p = arg;
	struct rpki *r = p->r;

	vrps_unref(r->vrps);
	r->vrps = vrps_ref(p->vrps);
	rpki_report(r, "rpki",
		json_pack("{s:s, s:I, s:I, s:I}", "event", "published", "ipv4",
			(json_int_t)vrps_count(p->vrps, AFI_IPV4), "ipv6",
			(json_int_t)vrps_count(p->vrps, AFI_IPV6), "changed",
			(json_int_t)vrps_count(p->changed, AFI_NONE)));
	publication_free(p);
}

/* An event of a cache, for main. */
struct cache_event {
	struct thread_mail mail;
	struct rpki *r;
	bool up;
	char name[NAME_MAX_LEN];
	char reason[RTR_TEXT_MAX];
};

static void
on_cache_event(void *arg) RUNS_ON(role_main)
{
	struct cache_event *e = arg;
	json_t *o = json_pack(
		"{s:s, s:s}", "event", e->up ? "cache-up" : "cache-down", "cache", e->name);

	if (!e->up)
		json_object_set_new(o, "reason", json_string(e->reason));
	rpki_report(e->r, "rpki", o);
	free(e);
}

/* Without memory the event is lost; the log has it. */
static void
cache_report(const struct cache *c, bool up) RUNS_ON(role_rpki)
{
	struct cache_event *e = calloc(1, sizeof(*e));

	if (up)
		log_event(LOG_INFO, "rpki-cache-up cache=%s", c->name);
	else
		log_event(
			LOG_WARNING, "rpki-cache-down cache=%s reason=\"%s\"", c->name, c->reason);
	if (e == NULL)
		return;
	*e = (struct cache_event){.r = c->rpki, .up = up};
	snprintf(e->name, sizeof(e->name), "%s", c->name);
	snprintf(e->reason, sizeof(e->reason), "%s", c->reason);
	layers_send_main(c->rpki->config.layers, &e->mail, on_cache_event, e);
}

/* ---- choice and publication ---- */

/* The lowest rank is in use. Without a synchronized cache, data in use stays until it expires. */
static unsigned
rank_of(const struct cache *c)
{
	unsigned step = UINT8_MAX + 1u;

	if (rtr_vrps(c->rtr) == NULL)
		return RANK_NONE;
	return c->preference + (rtr_state(c->rtr) == RTR_SYNCED ? 0 : c->used ? step : 2 * step);
}

static unsigned
best_rank(const struct rpki *r)
{
	unsigned best = RANK_NONE;

	for (unsigned i = 0; i < r->count; i++)
		best = rank_of(r->cache[i]) < best ? rank_of(r->cache[i]) : best;
	return best;
}

/*
 * True while a cache added by the same or a later commit owes the first answer, and the answer
 * would be used. Also true while no cache has data.
 */
static bool
leaving_stays(const struct rpki *r, const struct leaving *l, uint64_t now)
{
	unsigned best = best_rank(r);

	if (now >= l->expires_ns || best == RANK_NONE)
		return now < l->expires_ns && r->count > 0;
	for (unsigned i = 0; i < r->count; i++) {
		const struct cache *c = r->cache[i];

		if (c->added >= l->removed && rtr_vrps(c->rtr) == NULL && c->preference <= best)
			return true;
	}
	return false;
}

static void
leaving_remove(struct rpki *r, unsigned at) RUNS_ON(role_rpki)
{
	vrps_unref(r->leaving[at].vrps);
	r->leaving_count--;
	memmove(&r->leaving[at], &r->leaving[at + 1],
		(r->leaving_count - at) * sizeof(r->leaving[0]));
}

/* Removes data that leaves. The set stays published until the next publication. */
static void
leaving_look(struct rpki *r, uint64_t now) RUNS_ON(role_rpki)
{
	for (unsigned i = r->leaving_count; i-- > 0;) {
		const struct leaving *l = &r->leaving[i];

		if (!leaving_stays(r, l, now))
			leaving_remove(r, i);
		else
			(void)timer_arm_sooner(r->thread, &r->publish, l->expires_ns - now);
	}
}

/* The sets to use, and a bit for each of their caches. Returns the number of sets. */
static unsigned
choose(const struct rpki *r, struct vrps *out[static SETS_MAX], unsigned *caches) RUNS_ON(role_rpki)
{
	unsigned count = 0, best = best_rank(r);

	*caches = 0;
	for (unsigned i = 0; i < r->leaving_count; i++)
		best = r->leaving[i].rank < best ? r->leaving[i].rank : best;
	for (unsigned i = 0; i < r->count; i++) {
		if (rtr_vrps(r->cache[i]->rtr) == NULL || rank_of(r->cache[i]) != best)
			continue;
		out[count++] = rtr_vrps(r->cache[i]->rtr);
		*caches |= 1u << i;
	}
	for (unsigned i = 0; i < r->leaving_count; i++)
		if (r->leaving[i].rank == best)
			out[count++] = r->leaving[i].vrps;
	return count;
}

static bool
shards_busy(const struct rpki *r)
{
	const struct layers *l = r->config.layers;

	for (unsigned i = 0; i < l->shards.count; i++)
		if (shard_validating(l->shards.at[i]))
			return true;
	return false;
}

/* 0, -ENOMEM: nothing was sent. */
static int
send_all(struct rpki *r, struct vrps *vrps, struct vrps *changed) RUNS_ON(role_rpki)
{
	struct publication *p[SHARDS_MAX + 1];
	unsigned shards = r->config.layers->shards.count;

	for (unsigned i = 0; i <= shards; i++) {
		p[i] = calloc(1, sizeof(*p[i]));
		if (p[i] != NULL) {
			*p[i] = (struct publication){.r = r,
				.shard = i,
				.vrps = vrps_ref(vrps),
				.changed = vrps_ref(changed)};
			continue;
		}
		while (i > 0)
			publication_free(p[--i]);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < shards; i++)
		layers_send_rib(r->config.layers, i, &p[i]->mail, on_shard, p[i]);
	layers_send_main(r->config.layers, &p[shards]->mail, on_main, p[shards]);
	return 0;
}

static bool
sources_equal(const struct rpki *r, struct vrps *const *sets, unsigned count)
{
	for (unsigned i = 0; i < count && i < r->source_count; i++)
		if (sets[i] != r->source[i])
			return false;
	return count == r->source_count;
}

static void
sources_set(struct rpki *r, struct vrps *const *sets, unsigned count) RUNS_ON(role_rpki)
{
	for (unsigned i = 0; i < count; i++)
		(void)vrps_ref(sets[i]);
	for (unsigned i = 0; i < r->source_count; i++)
		vrps_unref(r->source[i]);
	for (unsigned i = 0; i < count; i++)
		r->source[i] = sets[i];
	r->source_count = count;
}

/* Publishes the sets in use, unless the last publication had the same records. 0, -ENOMEM: nothing changed. */
static int
publish(struct rpki *r) RUNS_ON(role_rpki)
{
	struct vrps *sets[SETS_MAX], *vrps, *changed;
	unsigned caches, count = choose(r, sets, &caches);
	size_t n;
	int err;

	if (sources_equal(r, sets, count))
		return 0;
	err = vrps_union(r->arena, sets, count, &vrps);
	if (err != 0)
		return err;
	err = vrps_difference(r->arena, r->published, vrps, &changed);
	if (err != 0) {
		vrps_unref(vrps);
		return err;
	}
	n = vrps_count(changed, AFI_NONE);
	err = n > 0 ? send_all(r, vrps, changed) : 0;
	vrps_unref(changed);
	if (err != 0) {
		vrps_unref(vrps);
		return err;
	}
	for (unsigned i = 0; i < r->count; i++)
		r->cache[i]->used = caches >> i & 1;
	sources_set(r, sets, count);
	if (n == 0) {
		vrps_unref(vrps);
		return 0;
	}
	vrps_unref(r->published);
	r->published = vrps;
	r->publications++;
	r->changed_records += n;
	log_event(LOG_INFO, "rpki-published ipv4=%zu ipv6=%zu changed=%zu",
		vrps_count(vrps, AFI_IPV4), vrps_count(vrps, AFI_IPV6), n);
	return 0;
}

static void
publish_or_wait(struct rpki *r) RUNS_ON(role_rpki)
{
	leaving_look(r, now_ns());
	if (shards_busy(r) || publish(r) != 0)
		(void)timer_arm_sooner(r->thread, &r->publish, WAIT_SHARDS_NS);
}

static void
publish_fire(struct timer *t)
{
	role_enter_rpki();
	publish_or_wait((struct rpki *)(void *)((char *)t - offsetof(struct rpki, publish)));
}

/* ---- connections ---- */

static void
cache_close(struct cache *c, const char *reason) RUNS_ON(role_rpki)
{
	if (c->watch.fd < 0)
		return;
	(void)watch_set(c->rpki->thread, &c->watch, 0);
	close(c->watch.fd);
	c->watch.fd = -1;
	c->connecting = false;
	/* a restarted cache gets the Reset Query soon, however long the cache was away */
	if (rtr_lost(c->rtr))
		c->backoff_s = 1;
	c->connect_ns = now_ns() + c->backoff_s * SECOND;
	c->backoff_s = c->backoff_s * 2 < BACKOFF_MAX_S ? c->backoff_s * 2 : BACKOFF_MAX_S;
	if (strcmp(c->reason, reason) != 0 || c->up) {
		snprintf(c->reason, sizeof(c->reason), "%s", reason);
		cache_report(c, false);
	}
	c->up = false;
}

static int
set_md5(int fd, const struct sockaddr_storage *peer, const char *password)
{
	struct tcp_md5sig md5 = {.tcpm_keylen = (uint16_t)strlen(password)};
	int rc;

	memcpy(&md5.tcpm_addr, peer, sizeof(*peer));
	memcpy(md5.tcpm_key, password, md5.tcpm_keylen);
	rc = setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &md5, sizeof(md5)) < 0 ? -errno : 0;
	explicit_bzero(&md5, sizeof(md5));
	return rc;
}

static socklen_t
sockaddr_of(const struct cache *c, struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (c->addr.afi == AFI_IPV4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(c->port);
		memcpy(&v4->sin_addr, c->addr.b, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(c->port);
	memcpy(&v6->sin6_addr, c->addr.b, 16);
	if (c->addr.zone != 0)
		v6->sin6_scope_id = if_nametoindex(zone_name(c->addr.zone));
	return sizeof(*v6);
}

static void
cache_connect(struct cache *c) RUNS_ON(role_rpki)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_of(c, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0) {
		c->connect_ns = now_ns() + c->backoff_s * SECOND;
		snprintf(c->reason, sizeof(c->reason), "%s", strerrordesc_np(errno));
		return;
	}
	c->connect_ns = now_ns() + CONNECT_NS;
	c->watch.fd = fd;
	if (c->password[0] != '\0')
		rc = set_md5(fd, &ss, c->password);
	if (rc == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		rc = -errno;
	c->connecting = true;
	if (rc == 0)
		rc = watch_set(c->rpki->thread, &c->watch, EPOLLOUT);
	if (rc != 0)
		cache_close(c, strerrordesc_np(-rc));
}

/* False: the connection ended. */
static bool
cache_flush(struct cache *c) RUNS_ON(role_rpki)
{
	const uint8_t *out;
	size_t len;
	ssize_t n;

	while (out = rtr_output(c->rtr, &len), len > 0) {
		n = send(c->watch.fd, out, len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			return false;
		rtr_sent(c->rtr, (size_t)n);
	}
	return watch_set(c->rpki->thread, &c->watch, EPOLLIN | (len > 0 ? EPOLLOUT : 0u)) == 0;
}

/* After each change of a cache. */
static void
synced_look(struct rpki *r) RUNS_ON(role_rpki)
{
	uint64_t since = atomic_load_explicit(&r->unsynced_ns, memory_order_relaxed);
	bool synced = r->count == 0;

	for (unsigned i = 0; i < r->count; i++)
		synced |= rtr_state(r->cache[i]->rtr) == RTR_SYNCED;
	if (synced || since == 0)
		since = synced ? 0 : now_ns();
	atomic_store_explicit(&r->caches, r->count, memory_order_relaxed);
	atomic_store_explicit(&r->unsynced_ns, since, memory_order_relaxed);
}

/* Timers and output; arms the timer for the next call. */
static void
cache_run(struct cache *c) RUNS_ON(role_rpki)
{
	uint64_t now = now_ns(), next;
	bool dropped;

	if (rtr_tick(c->rtr, now, &next, &dropped) != 0)
		cache_close(c, rtr_text(c->rtr));
	else if (c->connecting && now >= c->connect_ns)
		cache_close(c, strerrordesc_np(ETIMEDOUT));
	else if (c->watch.fd >= 0 && !c->connecting && !cache_flush(c))
		cache_close(c, strerrordesc_np(errno));
	if (c->watch.fd < 0 && now >= c->connect_ns)
		cache_connect(c);
	if (!c->up && rtr_state(c->rtr) == RTR_SYNCED) {
		c->up = true;
		c->backoff_s = 1;
		c->reason[0] = '\0';
		cache_report(c, true);
	}
	if (c->watch.fd < 0 || c->connecting)
		next = c->connect_ns < next ? c->connect_ns : next;
	(void)timer_arm(c->rpki->thread, &c->timer, next > now ? next - now : 1);
	synced_look(c->rpki);
	/* a lost connection changes the choice, too */
	publish_or_wait(c->rpki);
}

static void
cache_fire(struct timer *t)
{
	role_enter_rpki();
	cache_run((struct cache *)(void *)((char *)t - offsetof(struct cache, timer)));
}

static void
cache_read(struct cache *c) RUNS_ON(role_rpki)
{
	struct rpki *r = c->rpki;
	bool changed;

	for (unsigned i = 0; i < READS && c->watch.fd >= 0; i++) {
		ssize_t n = recv(c->watch.fd, r->buffer, sizeof(r->buffer), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			cache_close(c, n == 0 ? "closed by the cache" : strerrordesc_np(errno));
		} else if (rtr_input(c->rtr, r->buffer, (size_t)n, now_ns(), &changed) != 0) {
			(void)cache_flush(c); /* the Error Report */
			cache_close(c, rtr_text(c->rtr));
		}
	}
}

static void
cache_ready(struct watch *w, uint32_t events)
{
	struct cache *c = (struct cache *)(void *)((char *)w - offsetof(struct cache, watch));
	int error = 0;
	socklen_t len = sizeof(error);

	role_enter_rpki();
	if (c->connecting) {
		if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error != 0) {
			cache_close(c, strerrordesc_np(error));
		} else {
			c->connecting = false;
			rtr_connected(c->rtr, now_ns());
		}
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		cache_read(c);
	}
	cache_run(c);
}

/* ---- configuration ---- */

static void
cache_free(struct cache *c) RUNS_ON(role_rpki)
{
	if (c->watch.fd >= 0) {
		(void)watch_set(c->rpki->thread, &c->watch, 0);
		close(c->watch.fd);
	}
	timer_cancel(c->rpki->thread, &c->timer);
	rtr_destroy(c->rtr);
	explicit_bzero(c->password, sizeof(c->password));
	arena_free(c->rpki->arena, c);
}

static struct cache *
cache_find(const struct rpki *r, const struct config_rpki_cache *k)
{
	for (unsigned i = 0; i < r->count; i++) {
		struct cache *c = r->cache[i];

		if (addr_equal(&c->addr, &k->addr) && c->port == k->port &&
			strcmp(c->password, k->password != NULL ? k->password : "") == 0)
			return c;
	}
	return NULL;
}

/* NULL: no memory. */
static struct cache *
cache_new(struct rpki *r, const struct config_rpki_cache *k) RUNS_ON(role_rpki)
{
	struct cache *c = arena_calloc(r->arena, sizeof(*c));
	char text[ADDR_TEXT_MAX];

	if (c == NULL)
		return NULL;
	if (rtr_create(r->arena, &c->rtr) != 0) {
		arena_free(r->arena, c);
		return NULL;
	}
	c->rpki = r;
	c->addr = k->addr;
	c->port = k->port;
	snprintf(c->password, sizeof(c->password), "%s", k->password != NULL ? k->password : "");
	addr_format(&k->addr, text);
	snprintf(c->name, sizeof(c->name), k->addr.afi == AFI_IPV6 ? "[%s]:%u" : "%s:%u", text,
		k->port);
	c->watch = (struct watch){.fd = -1, .ready = cache_ready};
	c->timer.fire = cache_fire;
	c->backoff_s = 1;
	return c;
}

static void
cache_remove(struct rpki *r, struct cache *c) RUNS_ON(role_rpki)
{
	struct rtr_view v;

	rtr_peek(c->rtr, &v);
	if (c->used && rtr_vrps(c->rtr) != NULL) {
		if (r->leaving_count == CONFIG_RPKI_CACHES_MAX)
			leaving_remove(r, 0);
		r->leaving[r->leaving_count++] =
			(struct leaving){.vrps = vrps_ref(rtr_vrps(c->rtr)),
				.rank = rank_of(c),
				.removed = r->configurations,
				.expires_ns = v.expires_ns};
	}
	cache_free(c);
}

struct configure_call {
	struct rpki *r;
	const struct config *c;
};

static void
on_configure(void *arg) RUNS_ON(role_rpki)
{
	const struct configure_call *call = arg;
	struct rpki *r = call->r;
	unsigned kept = 0, old;

	r->configurations++;
	for (unsigned i = 0; i < r->count; i++)
		r->cache[i]->configured = false;
	for (unsigned i = 0; i < call->c->rpki_cache_count; i++) {
		const struct config_rpki_cache *k = &call->c->rpki_caches[i];
		struct cache *c = cache_find(r, k);

		if (c != NULL) {
			c->preference = k->preference;
			c->configured = true;
		}
	}
	for (unsigned i = 0; i < r->count; i++) {
		if (r->cache[i]->configured)
			r->cache[kept++] = r->cache[i];
		else
			cache_remove(r, r->cache[i]);
	}
	old = r->count = kept;
	for (unsigned i = 0; i < call->c->rpki_cache_count; i++) {
		const struct config_rpki_cache *k = &call->c->rpki_caches[i];
		struct cache *c = cache_find(r, k) == NULL ? cache_new(r, k) : NULL;

		if (c == NULL)
			continue;
		c->preference = k->preference;
		c->added = r->configurations;
		r->cache[r->count++] = c;
	}
	/* only now: each run publishes, and the choice needs all caches */
	for (unsigned i = old; i < r->count; i++)
		cache_run(r->cache[i]);
	synced_look(r);
	publish_or_wait(r);
}

void
rpki_configure(struct rpki *r, const struct config *c)
{
	struct configure_call call = {r, c};

	if (r->config.layers->rpki_thread != NULL)
		(void)layers_call_rpki(r->config.layers, on_configure, &call);
}

/* ---- views ---- */

struct vrps *
rpki_vrps(const struct rpki *r)
{
	return r != NULL ? r->vrps : NULL;
}

bool
rpki_unsynced(const struct rpki *r, unsigned *caches)
{
	uint64_t since;

	if (r == NULL)
		return false;
	since = atomic_load_explicit(&r->unsynced_ns, memory_order_relaxed);
	*caches = atomic_load_explicit(&r->caches, memory_order_relaxed);
	return since != 0 && now_ns() - since >= UNSYNCED_NS;
}

struct summary_call {
	struct rpki *r;
	json_t *out;
};

static json_t *
cache_json(const struct cache *c, uint64_t now, bool used) RUNS_ON(role_rpki)
{
	struct vrps *vrps = rtr_vrps(c->rtr);
	struct rtr_view v;
	char text[ADDR_TEXT_MAX];
	json_t *o;

	rtr_peek(c->rtr, &v);
	o = json_pack("{s:s, s:i, s:i, s:s, s:b, s:i, s:I, s:I, s:I, s:I, s:I}", "address",
		addr_format(&c->addr, text), "port", (int)c->port, "preference", (int)c->preference,
		"state", c->connecting ? "connecting" : rtr_state_text(rtr_state(c->rtr)), "used",
		used, "version", (int)v.version, "ipv4", (json_int_t)vrps_count(vrps, AFI_IPV4),
		"ipv6", (json_int_t)vrps_count(vrps, AFI_IPV6), "answers", (json_int_t)v.answers,
		"resets", (json_int_t)v.resets, "errors", (json_int_t)v.errors);
	if (v.has_session) {
		json_object_set_new(o, "session", json_integer(v.session));
		json_object_set_new(o, "serial", json_integer(v.serial));
	}
	if (vrps != NULL) {
		json_object_set_new(
			o, "synced_s", json_real((double)(now - v.synced_ns) / (double)SECOND));
		json_object_set_new(o, "expires_s",
			json_real(v.expires_ns > now ? (double)(v.expires_ns - now) / (double)SECOND
						     : 0));
	}
	if (c->reason[0] != '\0' || rtr_text(c->rtr)[0] != '\0')
		json_object_set_new(o, "error",
			json_string(rtr_text(c->rtr)[0] != '\0' ? rtr_text(c->rtr) : c->reason));
	return o;
}

static void
on_summary(void *arg) RUNS_ON(role_rpki)
{
	struct summary_call *call = arg;
	const struct rpki *r = call->r;
	struct vrps *sets[SETS_MAX];
	unsigned caches_used;
	json_t *caches = json_array();

	(void)choose(r, sets, &caches_used);
	for (unsigned i = 0; i < r->count; i++)
		json_array_append_new(
			caches, cache_json(r->cache[i], now_ns(), caches_used >> i & 1));
	call->out = json_pack("{s:o, s:{s:I, s:I}, s:I, s:I, s:I}", "caches", caches, "vrps",
		"ipv4", (json_int_t)vrps_count(r->published, AFI_IPV4), "ipv6",
		(json_int_t)vrps_count(r->published, AFI_IPV6), "publications",
		(json_int_t)r->publications, "changed", (json_int_t)r->changed_records,
		"memory_bytes", (json_int_t)arena_bytes(r->arena));
}

json_t *
rpki_summary(struct rpki *r)
{
	struct summary_call call = {.r = r};

	if (layers_call_rpki(r->config.layers, on_summary, &call) != 0)
		return NULL;
	return call.out;
}

/* ---- life ---- */

static void
rpki_stop(void *ctx)
{
	struct rpki *r = ctx;

	role_enter_rpki();
	timer_cancel(r->thread, &r->publish);
	for (unsigned i = 0; i < r->count; i++)
		cache_free(r->cache[i]);
	r->count = 0;
	while (r->leaving_count > 0)
		leaving_remove(r, 0);
	sources_set(r, NULL, 0);
	vrps_unref(r->published);
	r->published = NULL;
}

static int
rpki_begin(void *ctx, struct thread *self)
{
	((struct rpki *)ctx)->thread = self;
	return 0;
}

int
rpki_create(const struct rpki_config *c, struct rpki **out)
{
	struct rpki *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->config = *c;
	r->publish.fire = publish_fire;
	err = arena_create("rpki", &r->arena);
	if (err != 0)
		free(r);
	else
		*out = r;
	return err;
}

int
rpki_start(struct rpki *r, const unsigned *cpus, unsigned cpu_count, struct thread **out)
{
	struct thread_config c = {.name = "keel-rpki",
		.cpus = cpus,
		.cpu_count = cpu_count,
		.ctx = r,
		.start = rpki_begin,
		.stop = rpki_stop};

	return thread_create(&c, out);
}

void
rpki_destroy(struct rpki *r)
{
	if (r == NULL)
		return;
	vrps_unref(r->vrps);
	arena_destroy(r->arena);
	free(r);
}
