/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State of next hops, as reported by the fib thread. Entries without paths are freed when the index
 * must grow, so the size follows the current use. The watch of an unused next hop ends after some
 * seconds; the next use asks again.
 */
#include "rib/shard/shard_impl.h"

#include <errno.h>
#include <string.h>

#define INDEX_SIZE_MIN 64u
#define OF_ATTR_MIN 1024u
#define TIDY_NS 5000000000u /* time of a lap; a next hop used again within a lap stays watched */
#define TIDY_SLOTS 64u /* a turn */

static uint64_t
key_hash(struct vrf_id vrf, const struct ip_addr *addr)
{
	return addr_hash(addr, (uint64_t)addr->zone << 16 | vrf.v);
}

static struct next_hop_index *
index_alloc(struct arena *a, uint32_t size)
{
	struct next_hop_index *x = arena_calloc(a, sizeof(*x) + size * sizeof(x->at[0]));

	if (x == NULL)
		return NULL;
	x->arena = a;
	x->size = size;
	return x;
}

static void
index_free(void *ctx, void *p)
{
	struct next_hop_index *x = p;
	struct shard_next_hop *n = x->dropped, *next;

	for (; n != NULL; n = next) {
		next = n->dropped_next;
		arena_free(x->arena, n->own);
		arena_free(x->arena, n);
	}
	arena_free(x->arena, x);
}

static void
index_insert(struct shard_next_hops *h, struct next_hop_index *x, struct shard_next_hop *n)
{
	uint32_t first = (uint32_t)key_hash(n->vrf, &n->addr), i = first & (x->size - 1);

	while (atomic_load_explicit(&x->at[i], memory_order_relaxed) != NULL)
		i = (i + 1) & (x->size - 1);
	hash_probes_add(&h->probes, (i - first) & (x->size - 1));
	/* release: pairs with the acquire in next_hop_find */
	atomic_store_explicit(&x->at[i], n, memory_order_release);
}

int
next_hops_init(struct shard *s)
{
	struct shard_next_hops *h = &s->next_hops;
	struct next_hop_index *x = index_alloc(s->arena, INDEX_SIZE_MIN);

	if (x == NULL)
		return -ENOMEM;
	atomic_init(&h->index, x);
	h->entry_size = INDEX_SIZE_MIN;
	h->entry_free = 1;
	h->dirty = 1;
	h->entry = arena_calloc(s->arena, h->entry_size * sizeof(*h->entry));
	h->of_attr_size = OF_ATTR_MIN;
	h->of_attr = arena_calloc(s->arena, h->of_attr_size * sizeof(*h->of_attr));
	return h->entry != NULL && h->of_attr != NULL ? 0 : -ENOMEM;
}

void
next_hops_fini(struct shard *s)
{
	struct shard_next_hops *h = &s->next_hops;

	for (uint32_t i = 0; h->entry != NULL && i < h->entry_size; i++) {
		if (h->entry[i] != NULL)
			arena_free(s->arena, h->entry[i]->own);
		arena_free(s->arena, h->entry[i]);
	}
	arena_free(s->arena, h->entry);
	arena_free(s->arena, h->of_attr);
	arena_free(s->arena, atomic_load_explicit(&h->index, memory_order_relaxed));
}

struct shard_next_hop *
next_hop_find(const struct shard *s, struct vrf_id vrf, const struct ip_addr *addr)
{
	/* acquire: pairs with the release in index_replace */
	const struct next_hop_index *x =
		atomic_load_explicit(&s->next_hops.index, memory_order_acquire);
	uint32_t i = (uint32_t)key_hash(vrf, addr) & (x->size - 1);
	struct shard_next_hop *n;

	/* acquire: pairs with the release in index_insert */
	while ((n = atomic_load_explicit(&x->at[i], memory_order_acquire)) != NULL) {
		if (n->vrf.v == vrf.v && addr_equal(&n->addr, addr))
			return n;
		i = (i + 1) & (x->size - 1);
	}
	return NULL;
}

/*
 * False: no memory for the message, and no state changes. A later turn asks for a next hop in use;
 * an unused next hop stays watched until the next lap of next_hops_tidy().
 */
static bool
ask(struct shard *s, struct shard_next_hop *n, bool watch)
{
	struct nexthop_message m = {.vrf = n->vrf, .addr = n->addr, .unwatch = !watch};

	if (s->config.ask_next_hop != NULL && !s->config.ask_next_hop(s->config.ask_ctx, &m)) {
		s->next_hops.owed |= watch;
		return false;
	}
	n->watched = watch;
	return true;
}

static void
ask_owed(struct shard *s)
{
	struct shard_next_hops *h = &s->next_hops;

	h->owed = false;
	for (uint32_t i = 1; i < h->entry_size && !h->owed; i++) {
		struct shard_next_hop *n = h->entry[i];

		if (n != NULL && n->users > 0 && !n->watched)
			(void)ask(s, n, true);
	}
}

/* Takes ownership of `own`. */
static void
own_store(struct shard *s, struct shard_next_hop *n, struct nexthop_own *own, unsigned count)
{
	s->next_hops.owns += (count > 0) - (uint32_t)(n->own_count > 0);
	arena_free(s->arena, n->own);
	n->own = own;
	n->own_count = (uint8_t)count;
}

static bool
owns_equal(const struct shard_next_hop *n, const struct nexthop_message *m)
{
	if (n->own_count != m->own_count)
		return false;
	for (unsigned i = 0; i < m->own_count; i++)
		if (!prefix_equal(&n->own[i].prefix, &m->own[i].prefix) ||
			n->own[i].up != m->own[i].up ||
			n->own[i].connected != m->own[i].connected ||
			n->own[i].metric != m->own[i].metric)
			return false;
	return true;
}

/* Resets the entry to the initial state. */
static void
forget(struct shard *s, struct shard_next_hop *n)
{
	if (!ask(s, n, false))
		return;
	own_store(s, n, NULL, 0);
	n->up = n->connected = false;
	atomic_store_explicit(&n->metric, 0, memory_order_relaxed);
}

void
next_hops_tidy(struct shard *s)
{
	struct shard_next_hops *h = &s->next_hops;

	if (h->owed)
		ask_owed(s);
	if (h->tidy_at >= h->entry_size) {
		if (s->now_ns - h->tidy_ns < TIDY_NS)
			return;
		h->tidy_at = 1;
		h->tidy_ns = s->now_ns;
	}
	for (unsigned i = 0; i < TIDY_SLOTS && h->tidy_at < h->entry_size; i++, h->tidy_at++) {
		struct shard_next_hop *n = h->entry[h->tidy_at];

		if (n == NULL || !n->watched)
			continue;
		if (n->users == 0 && n->idle)
			forget(s, n);
		n->idle = n->users == 0;
	}
}

/*
 * Moves entries in use or still watched to `fresh`. The old index is retired with all other
 * entries.
 */
static void
index_replace(struct shard *s, struct next_hop_index *fresh)
{
	struct shard_next_hops *h = &s->next_hops;
	struct next_hop_index *old = atomic_load_explicit(&h->index, memory_order_relaxed);

	for (uint32_t i = 1; i < h->entry_size; i++) {
		struct shard_next_hop *n = h->entry[i];

		if (n == NULL)
			continue;
		if (n->users > 0 || n->watched) {
			index_insert(h, fresh, n);
			continue;
		}
		n->dropped_next = old->dropped;
		old->dropped = n;
		h->entry[i] = NULL;
		h->count--;
	}
	h->entry_free = 1;
	/* release: pairs with the acquire in next_hop_find */
	atomic_store_explicit(&h->index, fresh, memory_order_release);
	retire_push(s->retired, index_free, NULL, old);
}

/* Makes room for one entry. Slots and index places grow together. */
static int
room_for_one(struct shard *s)
{
	struct shard_next_hops *h = &s->next_hops;
	uint32_t size = atomic_load_explicit(&h->index, memory_order_relaxed)->size, used = 0;
	struct next_hop_index *fresh;

	if (h->count < size / 4 * 3)
		return 0;
	for (uint32_t i = 1; i < h->entry_size; i++) {
		struct shard_next_hop *n = h->entry[i];

		if (n != NULL && n->users == 0 && n->watched)
			forget(s, n);
		used += n != NULL && (n->users > 0 || n->watched);
	}
	if (used > size / 2) {
		size *= 2;
		struct shard_next_hop **entry =
			arena_realloc(s->arena, h->entry, size * sizeof(*entry));

		if (entry == NULL)
			return -ENOMEM;
		for (uint32_t i = h->entry_size; i < size; i++)
			entry[i] = NULL;
		h->entry = entry;
		h->entry_size = size;
	}
	fresh = index_alloc(s->arena, size);
	if (fresh == NULL)
		return -ENOMEM;
	index_replace(s, fresh);
	return 0;
}

static int
next_hop_new(
	struct shard *s, struct vrf_id vrf, const struct ip_addr *addr, struct shard_next_hop **out)
{
	struct shard_next_hops *h = &s->next_hops;
	struct shard_next_hop *n;
	int err = room_for_one(s);

	if (err != 0)
		return err;
	n = arena_calloc(s->arena, sizeof(*n));
	if (n == NULL)
		return -ENOMEM;
	/* ends: at most 3/4 of the slots are taken */
	while (h->entry[h->entry_free] != NULL)
		h->entry_free = h->entry_free + 1 < h->entry_size ? h->entry_free + 1 : 1;
	n->vrf = vrf;
	n->addr = *addr;
	n->slot = h->entry_free;
	n->users = 1;
	h->entry[n->slot] = n;
	h->count++;
	index_insert(h, atomic_load_explicit(&h->index, memory_order_relaxed), n);
	*out = n;
	(void)ask(s, n, true);
	return 0;
}

/* Adds a user to a known next hop. */
static void
use(struct shard *s, struct shard_next_hop *n)
{
	n->users++;
	n->idle = false;
	if (!n->watched)
		(void)ask(s, n, true);
}

/* Caches the next hop of a set, so that the set need not be read. */
static int
of_attr_set(struct shard *s, struct attr_id attr, uint32_t slot, uint32_t key)
{
	struct shard_next_hops *h = &s->next_hops;

	if (attr.v >= h->of_attr_size) {
		uint32_t size = h->of_attr_size;

		while (size <= attr.v)
			size *= 2;
		struct shard_of_attr *grown =
			arena_realloc(s->arena, h->of_attr, size * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		for (uint32_t i = h->of_attr_size; i < size; i++)
			grown[i] = (struct shard_of_attr){0};
		h->of_attr = grown;
		h->of_attr_size = size;
	}
	h->of_attr[attr.v] = (struct shard_of_attr){slot, key};
	return 0;
}

int
next_hop_hold(struct shard *s, struct vrf_id vrf, struct attr_id attr, uint32_t key,
	const struct ip_addr *addr, struct shard_next_hop **out)
{
	struct shard_next_hop *n = NULL;
	int err;

	*out = NULL;
	if (!s->config.next_hop_tracking)
		return 0;
	if (addr->afi != AFI_NONE) {
		n = next_hop_find(s, vrf, addr);
		if (n != NULL) {
			use(s, n);
		} else {
			err = next_hop_new(s, vrf, addr, &n);
			if (err != 0)
				return err;
		}
	}
	/*
	 * The cache has one next hop per set, so it serves one VRF. An id stays valid while a path
	 * of that VRF refers to the set; each record of that VRF that brings the set writes the
	 * entry.
	 */
	err = vrf.v == VRF_DEFAULT.v ? of_attr_set(s, attr, n != NULL ? n->slot : 0, key) : 0;
	if (err != 0) {
		if (n != NULL)
			n->users--;
		return err;
	}
	*out = n;
	return 0;
}

struct shard_next_hop *
next_hop_of(const struct shard *s, struct vrf_id vrf, const struct rib_path *p)
{
	const struct attr_packed *a;
	struct ip_addr addr;

	if (!s->config.next_hop_tracking || p->peer.v == PEER_SELF.v)
		return NULL;
	if (vrf.v == VRF_DEFAULT.v)
		return s->next_hops.entry[s->next_hops.of_attr[p->accepted.v].slot];
	a = attr_get(s->attrs, p->accepted);
	if (a == NULL)
		return NULL;
	addr = attr_packed_next_hop(a);
	return next_hop_find(s, vrf, &addr);
}

uint32_t
attr_key_of(const struct shard *s, struct vrf_id vrf, const struct rib_path *p)
{
	struct attr_set a;

	if (s->config.next_hop_tracking && p->peer.v != PEER_SELF.v && vrf.v == VRF_DEFAULT.v)
		return s->next_hops.of_attr[p->accepted.v].key;
	return decision_attr_key(attr_unpack_fixed(attr_get(s->attrs, p->accepted), &a));
}

const struct nexthop_own *
next_hop_own(const struct shard_table *t, const struct prefix *p, const struct shard_next_hop *n)
{
	if (__builtin_expect(n == NULL || n->own_count == 0, 1) ||
		family_safi(t->family) != SAFI_UNICAST || n->vrf.v != t->vrf.v)
		return NULL;
	for (unsigned i = 0; i < n->own_count; i++)
		if (prefix_equal(&n->own[i].prefix, p))
			return &n->own[i];
	return NULL;
}

bool
next_hops_own_any(const struct shard *s, const struct shard_table *t, const struct dest_view *view)
{
	if (__builtin_expect(s->next_hops.owns == 0, 1))
		return false;
	for (unsigned i = 0; i < view->paths->count; i++) {
		const struct rib_path *p = &view->paths->path[i];

		if (p->label_flags & PATH_OWN ||
			(!is_refused(p) && next_hop_own(t, &view->prefix,
						   next_hop_of(s, path_vrf(s, t, p), p)) != NULL))
			return true;
	}
	return false;
}

bool
next_hop_eligible(const struct shard *s, const struct shard_peer_slot *slot, struct peer_id peer,
	const struct shard_next_hop *n, const struct nexthop_own *own)
{
	const struct shard_peer *key;

	if (peer.v == PEER_SELF.v || !s->config.next_hop_tracking)
		return true;
	if (n == NULL || !(own != NULL ? own->up : n->up))
		return false;
	if ((own != NULL ? own->connected : n->connected) || addr_is_link_local(&n->addr))
		return true;
	/* RFC 4271 5.1.3 */
	key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	return !atomic_load_explicit(&slot->external, memory_order_relaxed) || key->multihop;
}

void
next_hops_clean(struct shard *s)
{
	s->next_hops.dirty++;
}

void
shard_next_hop(struct shard *s, const struct nexthop_message *m)
{
	struct shard_next_hop *n = next_hop_find(s, m->vrf, &m->addr);
	uint32_t metric = m->up ? m->metric : 0;
	bool up = m->up, connected = m->up && m->connected;
	struct nexthop_own *own = NULL;

	if (n == NULL || !n->watched)
		return; /* sent before the fib thread read the unwatch */
	if (n->up == m->up && n->connected == connected &&
		atomic_load_explicit(&n->metric, memory_order_relaxed) == metric &&
		owns_equal(n, m))
		return;
	if (m->own_count > 0) {
		own = arena_alloc(s->arena, m->own_count * sizeof(*own));
		if (own != NULL)
			memcpy(own, m->own, m->own_count * sizeof(*own));
		else /* as unresolvable; the next report tries again */
			up = connected = false;
	}
	own_store(s, n, own, own != NULL ? m->own_count : 0);
	n->up = up;
	n->connected = connected;
	atomic_store_explicit(&n->metric, metric, memory_order_relaxed);
	if (n->users == 0)
		return;
	n->dirty = s->next_hops.dirty;
	redecide_start(s, m->vrf);
}
