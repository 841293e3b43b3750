/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three pools of ids (path lists, next hops, adjacencies) in one reserved mapping. Data for
 * readers has its own arrays; reference counts and hash chains belong to the writer and lie in
 * separate arrays.
 *
 * States of an id: in use (in the hash); unreferenced (removed from the hash, in the retire list
 * until the end of a grace period, content unchanged); free. The writer never modifies content
 * that a reader may still use.
 */
#include "lpm/path_list.h"

#include "lpm/base/arena.h"
#include "lpm/inspect.h"
#include "lpm/base/qsbr.h"
#include "lpm/shared_tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POOL_MAX (1u << 16)
#define RECLAIM_BUDGET 4096
/* compared bytes of an adjacency: all except padding */
#define ADJACENCY_BYTES (offsetof(struct adjacency, udp_destination) + sizeof(uint32_t))

static_assert(PATH_LIST_MAX == POOL_MAX && NEXT_HOP_MAX == POOL_MAX && ADJACENCY_MAX == POOL_MAX,
	"one size of pool");

/* Writer only. 12 bytes per id. */
struct slot {
	uint32_t refs;
	uint32_t hash;
	uint32_t next; /* next in the bucket or in the free list */
};

/* Id 0 is never allocated: 0 ends chains and means "none" to callers. */
struct pool {
	struct slot *slot;
	uint32_t *bucket; /* POOL_MAX buckets */
	uint32_t free;
	uint32_t fresh; /* ids from here on have never been used */
	struct hash_probes probes;
};

struct next_hop_key {
	struct ip_addr addr;
	/* readers may read the key if this is set, until their next quiescent report */
	_Atomic uint8_t live;
	struct vrf_id vrf;
	uint16_t port;
};

struct path_lists {
	struct path_list *list;
	struct path_list_far
		*far; /* by id of list; pages of ids with a short list are never touched */
	_Atomic uint64_t *word;
	struct adjacency *adjacency;
	struct next_hop_key *key;
	struct pool lists, hops, adjacencies;
	_Atomic unsigned lists_in_use, lists_left_out;
	struct retire_list *retired;
	struct arena *arena;
	void *map;
	size_t map_size;
};

static struct slot *
pool_slot(const struct pool *pool, uint32_t id)
{
	return &pool->slot[id];
}

/* First id with this hash in the chain that starts at `id`; 0 at the end. */
static uint32_t
pool_match(const struct pool *pool, uint32_t id, uint32_t hash)
{
	while (id != 0 && pool->slot[id].hash != hash)
		id = pool->slot[id].next;
	return id;
}

static uint32_t
pool_first(const struct pool *pool, uint32_t hash)
{
	return pool_match(pool, pool->bucket[hash % POOL_MAX], hash);
}

static uint32_t
pool_next(const struct pool *pool, uint32_t id, uint32_t hash)
{
	return pool_match(pool, pool->slot[id].next, hash);
}

/*
 * Allocates an id with one reference and adds the id to the hash. Returns 0 if all ids are in use
 * or wait for readers.
 */
static uint32_t
pool_take(struct pool *pool, uint32_t hash)
{
	uint32_t id = pool->free, steps = 0;

	if (id != 0)
		pool->free = pool->slot[id].next;
	else if (pool->fresh < POOL_MAX)
		id = pool->fresh++;
	else
		return 0;
	for (uint32_t other = pool->bucket[hash % POOL_MAX]; other != 0;
		other = pool->slot[other].next)
		steps++;
	hash_probes_add(&pool->probes, steps);
	pool->slot[id] = (struct slot){1, hash, pool->bucket[hash % POOL_MAX]};
	pool->bucket[hash % POOL_MAX] = id;
	return id;
}

/*
 * Returns true if this was the last reference: the id is out of the hash, and the caller retires
 * the id.
 */
static bool
pool_unref(struct pool *pool, uint32_t id)
{
	struct slot *s = pool_slot(pool, id);
	uint32_t *at = &pool->bucket[s->hash % POOL_MAX];

	assert(s->refs > 0);
	if (--s->refs > 0)
		return false;
	while (*at != id)
		at = &pool->slot[*at].next;
	*at = s->next;
	return true;
}

static void
pool_give(struct pool *pool, uint32_t id)
{
	pool->slot[id].next = pool->free;
	pool->free = id;
}

/*
 * Returns the next `size` bytes of the mapping, from a page boundary. With a NULL base, only sums
 * up sizes.
 */
static void *
carve(char *base, size_t *used, size_t size)
{
	void *p = base != NULL ? base + *used : NULL;

	*used += (size + 4095) & ~(size_t)4095;
	return p;
}

static size_t
lay_out(struct path_lists *p, char *base)
{
	struct pool *pools[] = {&p->lists, &p->hops, &p->adjacencies};
	size_t used = 0;

	p->list = carve(base, &used, POOL_MAX * sizeof(*p->list));
	p->far = carve(base, &used, POOL_MAX * sizeof(*p->far));
	p->word = carve(base, &used, POOL_MAX * sizeof(*p->word));
	p->adjacency = carve(base, &used, POOL_MAX * sizeof(*p->adjacency));
	p->key = carve(base, &used, POOL_MAX * sizeof(*p->key));
	for (unsigned i = 0; i < 3; i++) {
		pools[i]->slot = carve(base, &used, POOL_MAX * sizeof(*pools[i]->slot));
		pools[i]->bucket = carve(base, &used, POOL_MAX * sizeof(*pools[i]->bucket));
		pools[i]->fresh = 1;
	}
	return used;
}

int
path_lists_create(struct arena *a, struct qsbr *workers, struct path_lists **out)
{
	struct path_lists *p = arena_calloc(a, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->arena = a;
	p->map_size = lay_out(p, NULL);
	p->map = arena_map(a, p->map_size);
	if (p->map == NULL)
		goto fail;
	(void)lay_out(p, p->map);
	/* each id waits at most once, so the list never gets full */
	if (retire_list_create(a, workers, 3 * POOL_MAX, &p->retired) < 0)
		goto fail_map;
	*out = p;
	return 0;

fail_map:
	arena_unmap(a, p->map, p->map_size);
fail:
	arena_free(a, p);
	return -ENOMEM;
}

size_t
path_lists_bytes(void)
{
	return sizeof(struct path_lists);
}

bool
path_lists_bound(
	const struct path_lists *shared, const struct bounds *bounds, struct path_lists *out)
{
	struct path_lists p = {.list = shared->list,
		.far = shared->far,
		.word = shared->word,
		.adjacency = shared->adjacency,
		.key = shared->key};

	/* of this copy: the writer may change `shared` meanwhile */
	__asm__("" : "+m"(p));
	if (!bounds_have(bounds, p.list, POOL_MAX * sizeof(*p.list)) ||
		!bounds_have(bounds, p.far, POOL_MAX * sizeof(*p.far)) ||
		!bounds_have(bounds, (const void *)(uintptr_t)p.word, POOL_MAX * sizeof(*p.word)) ||
		!bounds_have(bounds, p.adjacency, POOL_MAX * sizeof(*p.adjacency)) ||
		!bounds_have(bounds, p.key, POOL_MAX * sizeof(*p.key)))
		return false;
	*out = p;
	return true;
}

void
path_lists_destroy(struct path_lists *p)
{
	if (p == NULL)
		return;
	retire_list_destroy(p->retired);
	arena_unmap(p->arena, p->map, p->map_size);
	arena_free(p->arena, p);
}

void
path_lists_reclaim(struct path_lists *p)
{
	(void)retire_reclaim(p->retired, RECLAIM_BUDGET);
}

/*
 * Allocates an id. If the pool is empty, reclaims while any id becomes free: ids of this pool may
 * be queued after ids of other pools. Took 1.2 ms once, with 130,000 other ids in front.
 */
static uint32_t
take_or_reclaim(struct path_lists *p, struct pool *pool, uint32_t hash) RUNS_ON(role_fib)
{
	uint32_t id;

	do {
		id = pool_take(pool, hash);
	} while (id == 0 && retire_reclaim(p->retired, RECLAIM_BUDGET) > 0);
	return id;
}

static void
adjacency_free(void *ctx, void *entry)
{
	struct path_lists *p = ctx;

	pool_give(&p->adjacencies, (uint32_t)((struct adjacency *)entry - p->adjacency));
}

static void
adjacency_unref(struct path_lists *p, uint32_t id)
{
	if (id != 0 && pool_unref(&p->adjacencies, id))
		retire_push(p->retired, adjacency_free, p, &p->adjacency[id]);
}

/* Takes a reference on an equal adjacency, or creates one. Returns 0 if the pool is full. */
static uint32_t
adjacency_get(struct path_lists *p, const struct adjacency *adj) RUNS_ON(role_fib)
{
	struct adjacency a = {.ether_len = adj->ether_len,
		.label_count = adj->label_count,
		.port = adj->port,
		.mtu_plain = adj->label_count == 0 && adj->udp_destination == 0 ? adj->mtu : 0,
		.mtu = adj->mtu,
		.udp_source = adj->udp_source,
		.udp_destination = adj->udp_destination};
	uint32_t hash, id;

	/* bytes without meaning must not make equal adjacencies differ */
	memcpy(a.ether, adj->ether, adj->ether_len);
	memcpy(a.label, adj->label, adj->label_count * sizeof(a.label[0]));
	hash = (uint32_t)hash_bytes(&a, ADJACENCY_BYTES);
	for (id = pool_first(&p->adjacencies, hash); id != 0;
		id = pool_next(&p->adjacencies, id, hash)) {
		if (memcmp(&p->adjacency[id], &a, ADJACENCY_BYTES) != 0)
			continue;
		pool_slot(&p->adjacencies, id)->refs++;
		return id;
	}
	id = take_or_reclaim(p, &p->adjacencies, hash);
	if (id != 0)
		p->adjacency[id] = a;
	return id;
}

static uint64_t
word_make(enum next_hop_state state, uint32_t adjacency)
{
	return (uint64_t)state << 32 | adjacency;
}

/* The adjacency id in the stored word (which holds a reference), or 0. Writer only. */
static uint32_t
word_adjacency(const struct path_lists *p, uint32_t hop)
{
	return (uint32_t)atomic_load_explicit(&p->word[hop], memory_order_relaxed);
}

static void
word_store(struct path_lists *p, uint32_t hop, uint64_t word)
{
	/* release: pairs with the acquire in fib_read_up and next_hop_peek */
	atomic_store_explicit(&p->word[hop], word, memory_order_release);
}

static void
next_hop_free(void *ctx, void *entry)
{
	struct path_lists *p = ctx;
	uint32_t id = (uint32_t)((struct next_hop_key *)entry - p->key);

	word_store(p, id, word_make(NEXT_HOP_UNRESOLVED, 0));
	pool_give(&p->hops, id);
}

static bool
hop_in_use(const struct path_lists *p, struct next_hop_id id)
{
	return id.v != 0 && id.v < NEXT_HOP_MAX && pool_slot(&p->hops, id.v)->refs > 0;
}

static bool
key_equal(
	const struct next_hop_key *k, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port)
{
	return k->vrf.v == vrf.v && k->port == port && addr_equal(&k->addr, addr);
}

static int
hop_new(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	uint32_t hash, struct next_hop_id *out) RUNS_ON(role_fib)
{
	uint32_t id = take_or_reclaim(p, &p->hops, hash);
	struct next_hop_key *k = &p->key[id];

	if (id == 0)
		return -ENOSPC;
	k->addr = *addr;
	k->vrf = vrf;
	k->port = port;
	/* release: pairs with the acquire in next_hop_peek */
	atomic_store_explicit(&k->live, 1, memory_order_release);
	out->v = id;
	return 0;
}

int
next_hop_get(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr, uint16_t port,
	struct next_hop_id *out)
{
	uint32_t hash = (uint32_t)addr_hash(
		addr, (uint64_t)addr->zone << 32 | (uint64_t)vrf.v << 16 | port);
	uint32_t id;

	for (id = pool_first(&p->hops, hash); id != 0; id = pool_next(&p->hops, id, hash)) {
		if (!key_equal(&p->key[id], vrf, addr, port))
			continue;
		pool_slot(&p->hops, id)->refs++;
		out->v = id;
		return 0;
	}
	return hop_new(p, vrf, addr, port, hash, out);
}

int
next_hop_make(struct path_lists *p, struct vrf_id vrf, const struct ip_addr *addr,
	struct next_hop_id *out)
{
	/* next_hop_get() is not called with PORT_NONE, so it does not find this key */
	return hop_new(p, vrf, addr, PORT_NONE, (uint32_t)addr_hash(addr, vrf.v), out);
}

void
next_hop_unref(struct path_lists *p, struct next_hop_id id)
{
	if (id.v == 0 || !pool_unref(&p->hops, id.v))
		return;
	atomic_store_explicit(&p->key[id.v].live, 0, memory_order_relaxed);
	/*
	 * readers of an old generation may still use the word; its adjacency waits at least as
	 * long
	 */
	retire_push(p->retired, next_hop_free, p, &p->key[id.v]);
	adjacency_unref(p, word_adjacency(p, id.v));
}

int
next_hop_up(struct path_lists *p, struct next_hop_id id, const struct adjacency *adj)
{
	uint32_t old, new;

	if (!hop_in_use(p, id) || adj->ether_len != sizeof(adj->ether) ||
		adj->label_count > PUSH_LABELS_MAX)
		return -EINVAL;
	old = word_adjacency(p, id.v);
	new = adjacency_get(p, adj);
	if (new == 0)
		word_store(p, id.v, word_make(NEXT_HOP_UNRESOLVED, 0));
	else if (new != old)
		word_store(p, id.v, word_make(NEXT_HOP_UP, new));
	adjacency_unref(p, old);
	return new == 0 ? -ENOSPC : 0;
}

void
next_hop_down(struct path_lists *p, struct next_hop_id id, enum next_hop_state state)
{
	uint32_t old;

	if (!hop_in_use(p, id) || state == NEXT_HOP_UP)
		return;
	old = word_adjacency(p, id.v);
	word_store(p, id.v, word_make(state, 0));
	adjacency_unref(p, old);
}

bool
next_hop_peek(const struct path_lists *p, struct next_hop_id id, struct next_hop_view *out)
{
	const struct next_hop_key *k;
	uint64_t word;

	if (id.v == 0 || id.v >= NEXT_HOP_MAX)
		return false;
	k = &p->key[id.v];
	/*
	 * acquire: pairs with the release in hop_new; the key is then stable until the reader
	 * is quiescent
	 */
	if (atomic_load_explicit(&k->live, memory_order_acquire) == 0)
		return false;
	/* acquire: pairs with the release in word_store */
	word = atomic_load_explicit(&p->word[id.v], memory_order_acquire);
	*out = (struct next_hop_view){
		.vrf = k->vrf,
		.addr = k->addr,
		.port = k->port,
		.state = (enum next_hop_state)(word >> 32),
	};
	if (out->state == NEXT_HOP_UP)
		out->adjacency = p->adjacency[(uint32_t)word % ADJACENCY_MAX];
	return true;
}

/* A list to find or to make. Equal lists are equal byte by byte. */
struct draft {
	struct path_list head; /* without paths */
	struct path path[LIST_PATHS_MAX];
};

#define HEAD_BYTES offsetof(struct path_list, path)

static unsigned
list_paths(const struct path_list *l)
{
	return l->path_count + (unsigned)l->backup_count;
}

static size_t
paths_size(const struct path_list *l)
{
	return list_paths(l) * sizeof(l->path[0]);
}

static struct path *
list_path(const struct path_lists *p, uint32_t id)
{
	struct path_list *l = &p->list[id];

	return path_list_is_near(l->path_count, list_paths(l)) ? l->path : p->far[id].path;
}

static int
list_make(const struct path_lists *p, enum path_list_kind kind, uint16_t port,
	const struct path *path, unsigned count, unsigned backups, unsigned left_out,
	struct draft *d)
{
	struct path_list *l = &d->head;

	*l = (struct path_list){.kind = (uint8_t)kind,
		.path_count = (uint8_t)(count - backups),
		.port = PORT_NONE,
		.backup_count = (uint8_t)backups,
		.left_out = (uint16_t)(left_out < UINT16_MAX ? left_out : UINT16_MAX)};
	switch (kind) {
	case PATH_LIST_FORWARD:
		if (count <= backups || count > LIST_PATHS_MAX || count - backups > PATHS_MAX)
			return -EINVAL;
		for (unsigned i = 0; i < count; i++) {
			if (!hop_in_use(p, path[i].next_hop) ||
				(path[i].label != LABEL_NONE && path[i].label >= 1u << 20))
				return -EINVAL;
			d->path[i] = path[i];
			if (path[i].label != LABEL_NONE)
				l->kind = PATH_LIST_PUSH;
		}
		return 0;
	case PATH_LIST_GLEAN:
		l->port = port;
		return count == 0 && port != PORT_NONE ? 0 : -EINVAL;
	case PATH_LIST_INSTANCE:
		l->port = port;
		return count == 0 && port != PORT_NONE ? 0 : -EINVAL;
	case PATH_LIST_PUNT:
		l->port = port == PORT_ANYCAST ? port : PORT_NONE;
		return count == 0 ? 0 : -EINVAL;
	case PATH_LIST_BLACKHOLE:
		return count == 0 ? 0 : -EINVAL;
	case PATH_LIST_PUSH:
		break;
	}
	return -EINVAL;
}

static void
count_change(_Atomic unsigned *count, int change)
{
	unsigned n = atomic_load_explicit(count, memory_order_relaxed);

	atomic_store_explicit(count, n + (unsigned)change, memory_order_relaxed);
}

static void
lists_count(struct path_lists *p, const struct path_list *l, int change)
{
	count_change(&p->lists_in_use, change);
	if (l->left_out > 0)
		count_change(&p->lists_left_out, change);
}

/* ---- choice among equal paths ---- */

/*
 * Of the address alone, so that equal groups choose alike in each process and router. The zone of a
 * link-local address counts with its name.
 */
static uint64_t
hop_salt(const struct next_hop_key *k)
{
	char zone[16] = "";
	uint64_t a[2], z[2];

	memcpy(a, k->addr.b, sizeof(a));
	(void)snprintf(zone, sizeof(zone), "%s", zone_name(k->addr.zone));
	memcpy(z, zone, sizeof(z));
	return hash_mix(
		a[0] ^ hash_mix(a[1] ^ hash_mix(z[0] ^ hash_mix(z[1] ^ hash_mix(k->addr.afi)))));
}

/* Next hops with one address, on two ports or with two labels, need different salts. */
static uint64_t
path_salt(const struct path_lists *p, const struct path *path, unsigned i)
{
	const struct next_hop_key *k = &p->key[path[i].next_hop.v];

	for (unsigned n = 0; n < i; n++)
		if (addr_equal(&p->key[path[n].next_hop.v].addr, &k->addr))
			return hash_mix(
				hop_salt(k) ^ ((uint64_t)k->port << 32 | path[i].label) ^ 1);
	return hop_salt(k);
}

static void
salts_write(const struct path_lists *p, const struct path_list *l, struct path *path)
{
	uint32_t salt[PATHS_MAX + 3] = {0};
	size_t bytes = path_list_salt_places(l->path_count) * sizeof(*path);

	for (unsigned i = 0; bytes > 0 && i < l->path_count; i++)
		salt[i] = (uint32_t)path_salt(p, path, i);
	memcpy(path + list_paths(l), salt, bytes);
}

static int
list_get(struct path_lists *p, const struct draft *d, struct path_list_id *out) RUNS_ON(role_fib)
{
	const struct path_list *l = &d->head;
	uint64_t head;
	uint32_t hash, id;
	struct path *path;

	static_assert(HEAD_BYTES == sizeof(head), "the word before the paths");
	memcpy(&head, l, sizeof(head));
	hash = (uint32_t)hash_word(head ^ hash_bytes(d->path, paths_size(l)));
	for (id = pool_first(&p->lists, hash); id != 0; id = pool_next(&p->lists, id, hash)) {
		if (memcmp(&p->list[id], l, HEAD_BYTES) != 0 ||
			memcmp(list_path(p, id), d->path, paths_size(l)) != 0)
			continue;
		pool_slot(&p->lists, id)->refs++;
		out->v = id;
		return 0;
	}
	id = take_or_reclaim(p, &p->lists, hash);
	if (id == 0)
		return -ENOSPC;
	p->list[id] = *l;
	path = list_path(p, id);
	memcpy(path, d->path, paths_size(l));
	salts_write(p, l, path);
	for (unsigned i = 0; i < list_paths(l); i++)
		pool_slot(&p->hops, path[i].next_hop.v)->refs++;
	lists_count(p, l, 1);
	out->v = id;
	return 0;
}

int
path_list_get(struct path_lists *p, enum path_list_kind kind, uint16_t port,
	const struct path *path, unsigned count, struct path_list_id *out)
{
	struct draft d;

	if (list_make(p, kind, port, path, count, 0, 0, &d) < 0)
		return -EINVAL;
	return list_get(p, &d, out);
}

int
path_list_get_backed(struct path_lists *p, const struct path *path, unsigned count,
	unsigned backups, unsigned left_out, struct path_list_id *out)
{
	struct draft d;

	if (list_make(p, PATH_LIST_FORWARD, PORT_NONE, path, count, backups, left_out, &d) < 0)
		return -EINVAL;
	return list_get(p, &d, out);
}

void
path_list_ref(struct path_lists *p, struct path_list_id id)
{
	if (id.v == PATH_LIST_NONE)
		return;
	assert(id.v < PATH_LIST_MAX && pool_slot(&p->lists, id.v)->refs > 0);
	pool_slot(&p->lists, id.v)->refs++;
}

static void
list_free(void *ctx, void *entry)
{
	struct path_lists *p = ctx;

	pool_give(&p->lists, (uint32_t)((struct path_list *)entry - p->list));
}

void
path_list_unref(struct path_lists *p, struct path_list_id id)
{
	const struct path_list *l = &p->list[id.v];

	if (id.v == PATH_LIST_NONE || !pool_unref(&p->lists, id.v))
		return;
	lists_count(p, l, -1);
	/* first the list: its next hops then wait at least as long as any reader of the list */
	retire_push(p->retired, list_free, p, &p->list[id.v]);
	for (unsigned i = 0; i < list_paths(l); i++)
		next_hop_unref(p, list_path(p, id.v)[i].next_hop);
}

unsigned
path_list_refs(const struct path_lists *p, struct path_list_id id)
{
	return pool_slot(&p->lists, id.v)->refs;
}

uint32_t
path_lists_longest_probe(const struct path_lists *p)
{
	const struct pool *pools[] = {&p->lists, &p->hops, &p->adjacencies};
	uint32_t longest = 0;

	for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		uint32_t n = hash_probes_longest(&pools[i]->probes);

		longest = n > longest ? n : longest;
	}
	return longest;
}

unsigned
path_lists_in_use(const struct path_lists *p)
{
	return atomic_load_explicit(&p->lists_in_use, memory_order_relaxed);
}

unsigned
path_lists_left_out(const struct path_lists *p)
{
	return atomic_load_explicit(&p->lists_left_out, memory_order_relaxed);
}

const struct path_list *
path_lists_array(const struct path_lists *p)
{
	return p->list;
}

const struct path_list_far *
path_lists_far_array(const struct path_lists *p)
{
	return p->far;
}

const struct path *
path_list_paths(const struct path_lists *p, struct path_list_id id)
{
	return list_path(p, id.v);
}

const _Atomic uint64_t *
next_hops_array(const struct path_lists *p)
{
	return p->word;
}

const struct adjacency *
adjacencies_array(const struct path_lists *p)
{
	return p->adjacency;
}

/* ---- without the writer ---- */

unsigned
next_hops_lose(
	_Atomic uint64_t *words, const struct adjacency *adjacencies, uint16_t port, uint32_t *lost)
{
	unsigned n = 0;

	for (uint32_t id = 1; id < NEXT_HOP_MAX; id++) {
		uint32_t adjacency =
			(uint32_t)atomic_load_explicit(&words[id], memory_order_relaxed);

		if (adjacency == 0 || adjacency >= ADJACENCY_MAX ||
			adjacencies[adjacency].port != port)
			continue;
		lost[id] = adjacency;
		/* release: as in word_store */
		atomic_store_explicit(
			&words[id], word_make(NEXT_HOP_DOWN, 0), memory_order_release);
		n++;
	}
	return n;
}

unsigned
next_hops_restore(
	_Atomic uint64_t *words, const struct adjacency *adjacencies, uint16_t port, uint32_t *lost)
{
	unsigned n = 0;

	for (uint32_t id = 1; id < NEXT_HOP_MAX; id++) {
		if (lost[id] == 0 || adjacencies[lost[id]].port != port)
			continue;
		/* release: as in word_store */
		atomic_store_explicit(
			&words[id], word_make(NEXT_HOP_UP, lost[id]), memory_order_release);
		lost[id] = 0;
		n++;
	}
	return n;
}
