/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/nexthop.h"

#include "lpm/arena.h"

#include <errno.h>
#include <string.h>

/*
 * Subnets and addresses are arrays: a router has tens of them. What is watched is peers' choice, so it has an index: a peer that names
 * another next hop in each message must not make every question a search through all of them.
 */
struct watch_entry {
	struct nexthop_message last; /* what the shards were told */
};

struct connected {
	struct vrf_id vrf;
	uint16_t port;
	struct prefix subnet;
	unsigned users; /* several addresses in one subnet */
};

struct local_addr {
	struct vrf_id vrf;
	struct ip_addr addr;
	unsigned users;
};

struct zone {
	uint16_t port;
	uint16_t users;
};

struct nexthop_table {
	struct arena *arena;
	void (*tell)(void *ctx, const struct nexthop_message *m);
	void *ctx;
	struct watch_entry *watches;
	uint32_t *
		index; /* open addressing, twice as many as watch_size; place in watches + 1, 0: free */
	struct connected *connected;
	struct local_addr *locals;
	unsigned watch_count, watch_size, connected_count, connected_size, local_count, local_size;
	struct zone zone[ZONE_MAX + 1];
};

/* Room for one more in an array of the arena's. */
static int
grow(struct arena *a, void **array, size_t item, unsigned count, unsigned *size)
{
	unsigned next = *size ? 2 * *size : 16;
	void *p;

	if (count < *size)
		return 0;
	p = arena_realloc(a, *array, (size_t)next * item);
	if (p == NULL)
		return -ENOMEM;
	*array = p;
	*size = next;
	return 0;
}

int
nexthop_table_create(struct arena *a, void (*tell)(void *ctx, const struct nexthop_message *m),
	void *ctx, struct nexthop_table **out)
{
	struct nexthop_table *t = arena_calloc(a, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->arena = a;
	t->tell = tell;
	t->ctx = ctx;
	*out = t;
	return 0;
}

void
nexthop_table_destroy(struct nexthop_table *t)
{
	arena_free(t->arena, t->watches);
	arena_free(t->arena, t->index);
	arena_free(t->arena, t->connected);
	arena_free(t->arena, t->locals);
	arena_free(t->arena, t);
}

static uint32_t *
index_slot(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct prefix p = prefix_from_addr(addr, (uint8_t)prefix_max_len(addr->afi));
	uint32_t mask = 2 * t->watch_size - 1,
		 at = (uint32_t)hash_mix(prefix_hash(&p) + vrf.v) & mask;

	for (; t->index[at] != 0; at = (at + 1) & mask) {
		const struct nexthop_message *m = &t->watches[t->index[at] - 1].last;

		if (m->vrf.v == vrf.v && addr_equal(&m->addr, addr))
			break;
	}
	return &t->index[at];
}

static struct watch_entry *
watch_find(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	uint32_t place = t->watch_count > 0 ? *index_slot(t, vrf, addr) : 0;

	return place != 0 ? &t->watches[place - 1] : NULL;
}

/* Room for one more watched next hop, and its place in the index. */
static int
watch_grow(struct nexthop_table *t)
{
	unsigned size = t->watch_size;
	uint32_t *index;

	if (t->watch_count < size)
		return 0;
	size = size ? 2 * size : 16;
	index = arena_calloc(t->arena, 2 * (size_t)size * sizeof(*index));
	if (index == NULL)
		return -ENOMEM;
	if (grow(t->arena, (void **)&t->watches, sizeof(*t->watches), t->watch_count,
		    &t->watch_size) != 0) {
		arena_free(t->arena, index);
		return -ENOMEM;
	}
	arena_free(t->arena, t->index);
	t->index = index;
	for (unsigned i = 0; i < t->watch_count; i++)
		*index_slot(t, t->watches[i].last.vrf, &t->watches[i].last.addr) = i + 1;
	return 0;
}

bool
nexthop_watched(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	return watch_find(t, vrf, addr) != NULL;
}

static bool
is_local(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < t->local_count; i++) {
		if (t->locals[i].vrf.v == vrf.v && addr_equal(&t->locals[i].addr, addr))
			return true;
	}
	return false;
}

int
nexthop_port(const struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr,
	uint16_t *port)
{
	const struct connected *best = NULL;

	if (addr_is_link_local(addr)) {
		if (addr->zone > ZONE_MAX || t->zone[addr->zone].users == 0 ||
			is_local(t, vrf, addr))
			return -ENOENT;
		*port = t->zone[addr->zone].port;
		return 0;
	}
	for (unsigned i = 0; i < t->connected_count; i++) {
		const struct connected *c = &t->connected[i];

		if (c->vrf.v == vrf.v && prefix_contains(&c->subnet, addr) &&
			(best == NULL || c->subnet.len > best->subnet.len))
			best = c;
	}
	if (best == NULL || is_local(t, vrf, addr))
		return -ENOENT;
	*port = best->port;
	return 0;
}

static void
RUNS_ON(role_fib) answer(struct nexthop_table *t, struct watch_entry *w, bool always)
{
	uint16_t port;
	bool up = nexthop_port(t, w->last.vrf, &w->last.addr, &port) == 0;

	if (!always && up == w->last.up)
		return;
	w->last.up = up;
	w->last.connected = up; /* nothing but connected routes resolves here */
	w->last.metric = 0;
	t->tell(t->ctx, &w->last);
}

static void
RUNS_ON(role_fib) answer_all(struct nexthop_table *t)
{
	for (unsigned i = 0; i < t->watch_count; i++)
		answer(t, &t->watches[i], false);
}

int
nexthop_watch(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr)
{
	struct nexthop_message m = {.vrf = vrf, .addr = *addr};
	struct watch_entry *w = watch_find(t, vrf, addr);

	if (w != NULL) {
		answer(t, w, true);
		return 0;
	}
	if (watch_grow(t) != 0) {
		t->tell(t->ctx, &m);
		return -ENOMEM;
	}
	*index_slot(t, vrf, addr) = t->watch_count + 1;
	w = &t->watches[t->watch_count++];
	*w = (struct watch_entry){.last = m};
	answer(t, w, true);
	return 0;
}

static struct connected *
connected_find(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	for (unsigned i = 0; i < t->connected_count; i++) {
		struct connected *c = &t->connected[i];

		if (c->vrf.v == vrf.v && c->port == port && prefix_equal(&c->subnet, subnet))
			return c;
	}
	return NULL;
}

int
nexthop_connected_add(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	struct connected *c = connected_find(t, vrf, subnet, port);

	if (c != NULL) {
		c->users++;
		return -EEXIST;
	}
	if (grow(t->arena, (void **)&t->connected, sizeof(*t->connected), t->connected_count,
		    &t->connected_size) != 0)
		return -ENOMEM;
	t->connected[t->connected_count++] = (struct connected){vrf, port, *subnet, 1};
	answer_all(t);
	return 0;
}

int
nexthop_connected_remove(
	struct nexthop_table *t, struct vrf_id vrf, const struct prefix *subnet, uint16_t port)
{
	struct connected *c = connected_find(t, vrf, subnet, port);

	if (c == NULL)
		return -ENOENT;
	if (--c->users > 0)
		return -EEXIST;
	/* The order stays: of two ports with one subnet the older is used, as in the kernel, whatever else comes and goes. */
	memmove(c, c + 1, (size_t)(&t->connected[t->connected_count] - (c + 1)) * sizeof(*c));
	t->connected_count--;
	answer_all(t);
	return 0;
}

int
nexthop_local(struct nexthop_table *t, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	for (unsigned i = 0; i < t->local_count; i++) {
		struct local_addr *l = &t->locals[i];

		if (l->vrf.v != vrf.v || !addr_equal(&l->addr, addr))
			continue;
		if (present)
			l->users++;
		else if (--l->users == 0)
			*l = t->locals[--t->local_count];
		answer_all(t);
		return 0;
	}
	if (!present)
		return -ENOENT;
	if (grow(t->arena, (void **)&t->locals, sizeof(*t->locals), t->local_count,
		    &t->local_size) != 0)
		return -ENOMEM;
	t->locals[t->local_count++] = (struct local_addr){vrf, *addr, 1};
	answer_all(t);
	return 0;
}

void
nexthop_zone(struct nexthop_table *t, uint16_t zone, uint16_t port, bool present)
{
	struct zone *z = &t->zone[zone <= ZONE_MAX ? zone : 0];

	if (zone == 0 || zone > ZONE_MAX || (!present && z->users == 0))
		return;
	z->port = present ? port : z->port;
	z->users = present ? z->users + 1 : z->users - 1;
	answer_all(t);
}

unsigned
nexthop_count(const struct nexthop_table *t)
{
	return t->watch_count;
}
