/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life cycle, inputs, tables, peers and the loop of a shard.
 *
 * While the paths of a lost peer are flushed, paths that the scan has not reached are still
 * candidates and still forward: until the scan, a destination keeps the old result instead of
 * having none.
 */
#include "rib/shard/shard_impl.h"

#include "lpm/base/note_work.h"

#include <errno.h>
#include <string.h>

#define JOURNAL_CAPACITY (1u << 20)
#define JOURNAL_TIDY_NS 250000000u
/* Keeps the first runs of a family short, until the cost is known. */
#define COST_FIRST_NS 8192u
#define RETIRED_MAX 4096u /* records of removed peers and replaced next-hop indexes; both rare */

struct shard_peer_slot *
shard_slot(const struct shard *s, struct peer_id id)
{
	struct shard_peer_slot *slot;

	if (id.v >= PEER_MAX)
		return NULL;
	/* acquire: pairs with the release in peer_insert */
	slot = atomic_load_explicit(&s->peer[id.v], memory_order_acquire);
	if (slot == NULL || atomic_load_explicit(&slot->key, memory_order_relaxed) == NULL)
		return NULL;
	return slot;
}

/* ---- the session side's half ---- */

struct shard_input *
shard_input(struct shard *s, unsigned index)
{
	return index < s->input_count ? s->input[index] : NULL;
}

uint64_t
shard_records_done(const struct shard *s, unsigned index)
{
	/* acquire: pairs with the stores in record_end and progress_publish */
	return atomic_load_explicit(&s->input[index]->records, memory_order_acquire);
}

/* NULL: the maximum is allocated, or no memory. */
static struct rib_batch *
batch_make(struct shard_input *in)
{
	struct rib_batch *b;
	unsigned i = 0;

	while (i < RIB_BATCHES_PER_INPUT && in->all[i] != NULL)
		i++;
	if (i == RIB_BATCHES_PER_INPUT)
		return NULL;
	b = arena_alloc(in->arena, sizeof(*b) + RIB_BATCH_SIZE + RIB_NLRI_SLACK);
	if (b == NULL)
		return NULL;
	*b = (struct rib_batch){.size = RIB_BATCH_SIZE};
	in->all[i] = b;
	return b;
}

static void
batch_free(struct shard_input *in, struct rib_batch *b)
{
	unsigned i = 0;

	while (in->all[i] != b)
		i++;
	in->all[i] = NULL;
	arena_release(in->arena, b);
}

/* The batch returned last is in the caches, and surplus batches are never touched. */
struct rib_batch *
shard_input_get(struct shard_input *in)
{
	struct rib_batch *b;

	while ((b = ring_pop(in->empty)) != NULL)
		in->spare[in->spare_count++] = b;
	if (in->spare_count > 0)
		b = in->spare[--in->spare_count];
	else
		b = batch_make(in);
	if (in->spare_count < in->spare_low)
		in->spare_low = in->spare_count;
	if (b != NULL) {
		b->used = 0;
		b->before = b->records = 0;
	}
	return b;
}

void
shard_input_put(struct shard_input *in, struct rib_batch *b)
{
	in->put_records = b->before + b->records;
	/* never full: the ring has room for all batches */
	(void)ring_push(in->full, b);
}

bool
shard_input_idle(const struct shard_input *in)
{
	return shard_input_did(in, in->put_records);
}

bool
shard_input_did(const struct shard_input *in, uint64_t records)
{
	/* acquire: pairs with the stores in record_end and progress_publish */
	return atomic_load_explicit(&in->records, memory_order_acquire) >= records;
}

void
shard_input_return(struct shard_input *in, struct rib_batch *b)
{
	in->spare[in->spare_count++] = b;
}

bool
shard_input_tidy(struct shard_input *in)
{
	unsigned n = in->spare_low;
	struct rib_batch *b;
	bool left = false;

	for (unsigned i = 0; i < n; i++)
		batch_free(in, in->spare[i]);
	in->spare_count -= n;
	memmove(in->spare, in->spare + n, in->spare_count * sizeof(in->spare[0]));
	while ((b = ring_pop(in->empty)) != NULL)
		in->spare[in->spare_count++] = b;
	in->spare_low = in->spare_count;
	for (unsigned i = 0; i < RIB_BATCHES_PER_INPUT; i++)
		left |= in->all[i] != NULL;
	return left;
}

static void
input_destroy(struct arena *a, struct shard_input *in)
{
	if (in == NULL)
		return;
	ring_destroy(in->full);
	ring_destroy(in->empty);
	for (unsigned i = 0; i < RIB_BATCHES_PER_INPUT; i++)
		arena_free(a, in->all[i]);
	arena_free(a, in);
}

static int
input_create(struct arena *a, struct shard_input **out)
{
	struct shard_input *in = arena_alloc_aligned(a, CACHE_LINE, sizeof(*in));
	int err;

	*out = in;
	if (in == NULL)
		return -ENOMEM;
	*in = (struct shard_input){.arena = a};
	err = ring_create(a, "shard-full", RIB_BATCHES_PER_INPUT, &in->full);
	return err != 0 ? err : ring_create(a, "shard-empty", RIB_BATCHES_PER_INPUT, &in->empty);
}

/* ---- life ---- */

static void
peer_key_free(void *ctx, void *p)
{
	struct shard *s = ctx;

	arena_free(s->arena, p);
}

/* Slots are never freed, keys come and go: readers of counters need no grace period. */
static int
peer_insert(struct shard *s, const struct shard_peer *p)
{
	struct shard_peer_slot *slot =
		atomic_load_explicit(&s->peer[p->id.v], memory_order_relaxed);
	struct shard_peer *key = arena_alloc(s->arena, sizeof(*key));

	if (slot == NULL)
		slot = arena_calloc(s->arena, sizeof(*slot));
	if (key == NULL || slot == NULL) {
		arena_free(s->arena, key);
		if (atomic_load_explicit(&s->peer[p->id.v], memory_order_relaxed) == NULL)
			arena_free(s->arena, slot);
		return -ENOMEM;
	}
	*key = *p;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		uint16_t epoch = shard_epoch(&slot->rib[f]);

		adj_rib_in_init(&slot->rib[f].counts);
		atomic_store_explicit(&slot->rib[f].counts.epoch, epoch, memory_order_relaxed);
		adj_rib_in_swept(&slot->rib[f].counts, epoch);
		slot->rib[f].flush_below = slot->rib[f].sweep_below = epoch;
		slot->rib[f].rerank = slot->rib[f].keep = false;
		slot->rib[f].replays = 0;
		refused_reset(&slot->rib[f]);
		slot->rib[f].import = NULL;
	}
	slot->up = slot->evicted = false;
	/* shared sets may still be charged to an earlier peer with this id */
	atomic_store_explicit(
		&slot->charged_before, attr_table_charged(s->attrs, p->id.v), memory_order_relaxed);
	atomic_store_explicit(&slot->router_id, p->router_id, memory_order_relaxed);
	atomic_store_explicit(&slot->asn, p->asn, memory_order_relaxed);
	atomic_store_explicit(&slot->external, p->external, memory_order_relaxed);
	s->import_owners = false;
	/* release: pairs with the acquire in shard_peer_peek */
	atomic_store_explicit(&slot->key, key, memory_order_release);
	/* release: pairs with the acquire in shard_slot */
	atomic_store_explicit(&s->peer[p->id.v], slot, memory_order_release);
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		refused_settle(s, p->id, (enum family)f);
	return 0;
}

static int
parts_create(struct shard *s, unsigned inputs)
{
	struct shard_peer self = {
		.id = PEER_SELF, .asn = s->config.own_asn, .router_id = s->config.router_id};
	uint32_t capacity =
		s->config.journal_capacity != 0 ? s->config.journal_capacity : JOURNAL_CAPACITY;
	int err = attr_table_create(s->arena, s->config.readers, &s->attrs);

	if (err == 0)
		err = attr_table_charge(s->attrs, PEER_MAX);

	s->journal = s->config.journal;
	if (err == 0 && s->journal == NULL)
		err = journal_create(s->arena, capacity, &s->journal);
	if (err == 0)
		err = policy_eval_create(s->arena, &s->eval);
	if (err == 0) {
		s->unpacked = arena_alloc(s->arena, ATTR_SET_MAX);
		err = s->unpacked != NULL ? 0 : -ENOMEM;
	}
	if (err == 0)
		err = retire_list_create(s->arena, s->config.readers, RETIRED_MAX, &s->retired);
	if (err == 0)
		err = history_create(s->arena, &s->history);
	if (err == 0)
		err = next_hops_init(s);
	if (err == 0)
		err = peer_insert(s, &self);
	for (; err == 0 && s->input_count < inputs; s->input_count++)
		err = input_create(s->arena, &s->input[s->input_count]);
	return err;
}

int
shard_create(const struct shard_config *config, unsigned inputs, struct shard **out)
{
	struct shard *s;
	int err;

	if (inputs > SHARD_INPUTS_MAX)
		return -EINVAL;
	s = arena_calloc(config->arena, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->config = *config;
	s->arena = config->arena;
	if (s->config.crowd == 0)
		s->config.crowd = CROWD;
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		atomic_init(&s->cost.mean_ns[f], COST_FIRST_NS);
	s->cost.leaks = FAMILY_VPNV4_UNICAST;
	s->near_changes = 1;
	if (s->config.cluster_id == 0)
		s->config.cluster_id = config->router_id; /* RFC 4456 7 */
	atomic_init(&s->cluster_id, s->config.cluster_id);
	s->now_ns = walk_clock();
	err = parts_create(s, inputs);
	if (err != 0) {
		shard_destroy(s);
		return err;
	}
	*out = s;
	return 0;
}

/* retire_fn */
static void
table_free(void *ctx, void *p)
{
	struct shard *s = ctx;
	struct shard_table *t = p;

	dest_table_destroy(t->dests);
	arena_free(s->arena, t);
}

/*
 * retire_fn. The grace period before is for consumers that hold an entry although they were
 * evicted; the grace period after is for readers that look at all ids.
 */
static void
table_unlink(void *ctx, void *p)
{
	struct shard *s = ctx;
	struct shard_table *t = p;

	atomic_store_explicit(&s->table[t->id.v], NULL, memory_order_relaxed);
	retire_push(s->retired, table_free, s, t);
}

void
shard_destroy(struct shard *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < SHARD_INPUTS_MAX; i++)
		input_destroy(s->arena, s->input[i]);
	if (s->retired != NULL)
		retire_list_destroy(s->retired);
	for (unsigned i = 0; i < shard_table_count(s); i++)
		if (shard_table_at(s, i) != NULL)
			table_free(s, shard_table_at(s, i));
	for (unsigned i = 0; i < PEER_MAX; i++) {
		struct shard_peer_slot *slot =
			atomic_load_explicit(&s->peer[i], memory_order_relaxed);

		if (slot != NULL)
			arena_free(
				s->arena, atomic_load_explicit(&slot->key, memory_order_relaxed));
		arena_free(s->arena, slot);
	}
	next_hops_fini(s);
	replay_forget(s);
	vrps_unref(s->vrps);
	vrps_unref(s->changed);
	leak_fini(s);
	scratch_free(s);
	refused_fini(s);
	history_destroy(s->history);
	if (s->eval != NULL)
		policy_eval_destroy(s->eval);
	arena_free(s->arena, s->unpacked);
	if (s->journal != NULL && s->config.journal == NULL)
		journal_destroy(s->journal);
	if (s->attrs != NULL)
		attr_table_destroy(s->attrs);
	arena_free(s->arena, s);
}

/* ---- tables ---- */

int
shard_table_create(struct shard *s, struct table_id id, struct vrf_id vrf, enum family family)
{
	struct shard_table *t;
	struct table_id other;
	int err;

	if (id.v >= SHARD_TABLES_MAX || vrf.v >= SHARD_VRFS_MAX || family >= FAMILY_COUNT)
		return -EINVAL;
	if (shard_table_find(s, vrf, family, &other) == 0)
		return -EEXIST;
	if (shard_table_at(s, id.v) != NULL)
		return -EBUSY;
	t = arena_alloc(s->arena, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	*t = (struct shard_table){.vrf = vrf, .family = family, .id = id};
	err = (family_safi(family) == SAFI_VPN ? dest_table_create_vpn : dest_table_create)(
		s->arena, s->config.readers, family_afi(family), &t->dests);
	if (err != 0) {
		arena_free(s->arena, t);
		return err;
	}
	leak_table_mark(s, t);
	/* release, all: a reader that finds the id or the count finds the table */
	atomic_store_explicit(&s->table[id.v], t, memory_order_release);
	if (id.v >= shard_table_count(s))
		atomic_store_explicit(&s->table_count, id.v + 1u, memory_order_release);
	atomic_store_explicit(
		&s->table_of[vrf.v][family], (uint16_t)(id.v + 1), memory_order_release);
	return 0;
}

int
shard_table_add(struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out)
{
	struct table_id id = {0};
	int err;

	if (shard_table_find(s, vrf, family, out) == 0)
		return -EEXIST;
	while (id.v < SHARD_TABLES_MAX && shard_table_at(s, id.v) != NULL)
		id.v++;
	err = id.v < SHARD_TABLES_MAX ? shard_table_create(s, id, vrf, family) : -ENOMEM;
	if (err == 0)
		*out = id;
	return err;
}

int
shard_table_remove(struct shard *s, struct table_id id)
{
	struct shard_table *t = id.v < SHARD_TABLES_MAX ? shard_table_at(s, id.v) : NULL;

	if (t == NULL || t->leaving)
		return -ENOENT;
	/* the scans of an instance read its tables until the instance is gone */
	if (dest_count(t->dests) > 0 || t->walking || t->planned > 0 || leak_pending(s) ||
		t->crowds > 0 || t->leak != LEAK_NOTHING)
		return -EBUSY;
	atomic_store_explicit(&s->table_of[t->vrf.v][t->family], 0, memory_order_relaxed);
	t->leaving = true;
	table_bit_set(s->stirred, id, true);
	return 0;
}

/*
 * Frees a removed table after two grace periods. The last tombstone is gone, so all cursors have
 * passed the last entry of the table.
 */
static void
table_leave(struct shard *s, struct shard_table *t) RUNS_ON(role_rib)
{
	table_bit_set(s->stirred, t->id, false);
	retire_push(s->retired, table_unlink, s, t);
}

struct shard_table *
shard_table_next(const struct shard *s, const uint64_t *bits, unsigned *at)
{
	for (unsigned word = *at / 64, from = *at % 64; word < TABLE_WORDS; word++, from = 0) {
		uint64_t left = bits[word] >> from << from;

		if (left == 0)
			continue;
		*at = word * 64 + (unsigned)__builtin_ctzll(left) + 1;
		return shard_table_at(s, *at - 1);
	}
	return NULL;
}

unsigned
shard_table_count(const struct shard *s)
{
	/* acquire: pairs with the release in shard_table_create */
	return atomic_load_explicit(&s->table_count, memory_order_acquire);
}

int
shard_table_find(const struct shard *s, struct vrf_id vrf, enum family family, struct table_id *out)
{
	uint16_t at;

	if (vrf.v >= SHARD_VRFS_MAX || family >= FAMILY_COUNT)
		return -ENOENT;
	/* acquire: pairs with the release in shard_table_create */
	at = atomic_load_explicit(&s->table_of[vrf.v][family], memory_order_acquire);
	if (at == 0)
		return -ENOENT;
	out->v = (uint16_t)(at - 1);
	return 0;
}

struct shard_table *
shard_table_of(struct shard *s, struct vrf_id vrf, enum family family)
{
	struct table_id id;

	if (shard_table_find(s, vrf, family, &id) != 0)
		return NULL;
	table_bit_set(s->stirred, id, true);
	return shard_table_at(s, id.v);
}

struct dest_table *
shard_table(const struct shard *s, struct table_id id)
{
	const struct shard_table *t = id.v < SHARD_TABLES_MAX ? shard_table_at(s, id.v) : NULL;

	return t != NULL ? t->dests : NULL;
}

void
shard_table_key(const struct shard *s, struct table_id id, struct vrf_id *vrf, enum family *family)
{
	const struct shard_table *t = id.v < SHARD_TABLES_MAX ? shard_table_at(s, id.v) : NULL;

	*vrf = t != NULL ? t->vrf : VRF_DEFAULT;
	*family = t != NULL ? t->family : FAMILY_COUNT;
}

struct attr_table *
shard_attrs(const struct shard *s)
{
	return s->attrs;
}

struct journal *
shard_journal(const struct shard *s)
{
	return s->journal;
}

/* ---- settings ---- */

void
shard_settings(struct shard *s, const struct shard_settings *settings)
{
	unsigned max_paths = s->config.max_paths;

	s->config.cluster_id =
		settings->cluster_id != 0 ? settings->cluster_id : s->config.router_id;
	atomic_store_explicit(&s->cluster_id, s->config.cluster_id, memory_order_relaxed);
	s->config.tombstones_max = settings->tombstones_max;
	s->config.max_paths = settings->max_paths;
	if (settings->max_paths == max_paths)
		return;
	for (unsigned i = 0; i < shard_table_count(s); i++) {
		const struct shard_table *t = shard_table_at(s, i);

		if (t != NULL)
			rank_all_start(s, t->vrf);
	}
}

/* ---- peers ---- */

int
shard_peer_add(struct shard *s, const struct shard_peer *p)
{
	if (p->id.v >= PEER_MAX)
		return -EINVAL;
	if (shard_slot(s, p->id) != NULL)
		return -EEXIST;
	return peer_insert(s, p);
}

bool
shard_peer_idle(const struct shard *s, struct peer_id id)
{
	const struct shard_peer_slot *slot = shard_slot(s, id);

	if (slot == NULL)
		return true;
	/* an imported path of the peer may wait for its removal */
	if (slot->up || leak_pending(s) || leak_waits_of(s, id))
		return false;
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (slot->rib[f].sweeping || slot->rib[f].keeps_listed ||
			shard_load(&slot->rib[f].counts.received) > 0)
			return false;
	return true;
}

int
shard_peer_remove(struct shard *s, struct peer_id id)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_peer *key;

	if (slot == NULL || id.v == PEER_SELF.v)
		return -ENOENT;
	if (!shard_peer_idle(s, id))
		return -EBUSY;
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		shard_plan_done(s, id, (enum family)f);
	key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	s->import_owners = false;
	atomic_store_explicit(&slot->key, NULL, memory_order_relaxed);
	retire_push(s->retired, peer_key_free, s, key);
	return 0;
}

/* Control posts the change; readers may still use the old key. */
int
shard_peer_change(struct shard *s, const struct shard_peer *p)
{
	struct shard_peer_slot *slot = shard_slot(s, p->id);
	struct shard_peer *old, *key;

	if (slot == NULL || p->id.v == PEER_SELF.v)
		return -ENOENT;
	old = atomic_load_explicit(&slot->key, memory_order_relaxed);
	if (!addr_equal(&old->addr, &p->addr) || old->vrf.v != p->vrf.v)
		return -EINVAL;
	key = arena_alloc(s->arena, sizeof(*key));
	if (key == NULL)
		return -ENOMEM;
	*key = *p;
	s->import_owners = false;
	/* release: pairs with the acquire in shard_peer_peek */
	atomic_store_explicit(&slot->key, key, memory_order_release);
	if (old->multihop != p->multihop)
		rank_all_start(s, p->vrf);
	if (old->group_key != p->group_key)
		leak_group_changed(s);
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (old->allow_as_in[f] != p->allow_as_in[f] || old->local_as != p->local_as)
			replay_start(s, shard_table_of(s, p->vrf, (enum family)f), &slot->rib[f]);
	retire_push(s->retired, peer_key_free, s, old);
	return 0;
}

/* NULL: no table of that family. */
struct shard_table *
shard_table_of_peer(struct shard *s, const struct shard_peer_slot *slot, enum family family)
{
	return shard_table_of(
		s, atomic_load_explicit(&slot->key, memory_order_relaxed)->vrf, family);
}

void
shard_peer_import(
	struct shard *s, struct peer_id id, enum family family, const struct policy *policy)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_rib_in *r;

	if (slot == NULL || family >= FAMILY_COUNT)
		return;
	r = &slot->rib[family];
	r->import = policy;
	r->import_name = policy != NULL ? history_policy(s->history, policy_name(policy)) : 0;
	/* an absent peer cannot be asked for a refresh */
	if (r->replaying || (r->counts.retained && !slot->up))
		replay_start(s, shard_table_of_peer(s, slot, family), r);
}

void
shard_peer_keep(struct shard *s, struct peer_id id, enum family family, bool keep)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_rib_in *r;

	if (slot == NULL || family >= FAMILY_COUNT || slot->rib[family].keep == keep)
		return;
	r = &slot->rib[family];
	r->keep = keep;
	if (keep)
		r->dropping = r->drops_then = false;
	else if (r->replaying)
		r->drops_then = true;
	else
		drop_kept_start(s, shard_table_of_peer(s, slot, family), r);
}

uint64_t
shard_peer_replay(struct shard *s, struct peer_id id, enum family family)
{
	struct shard_peer_slot *slot = shard_slot(s, id);

	if (slot == NULL || family >= FAMILY_COUNT)
		return 0;
	slot->rib[family].replays++;
	replay_start(s, shard_table_of_peer(s, slot, family), &slot->rib[family]);
	return slot->rib[family].replays;
}

void
shard_plan_begin(
	struct shard *s, struct peer_id id, enum family family, unsigned generation, bool supplies)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_table *t;
	struct shard_rib_in *r;

	if (slot == NULL || family >= FAMILY_COUNT || id.v == PEER_SELF.v)
		return;
	t = shard_table_of_peer(s, slot, family);
	if (t == NULL)
		return;
	r = &slot->rib[family];
	t->planned += !r->planned;
	r->planned = true;
	t->suppliers += supplies && !r->supplies;
	r->supplies |= supplies;
	r->generation_flags = generation << PATH_GENERATION_SHIFT;
}

void
shard_plan_done(struct shard *s, struct peer_id id, enum family family)
{
	struct shard_peer_slot *slot = shard_slot(s, id);
	struct shard_table *t;
	struct shard_rib_in *r;

	if (slot == NULL || family >= FAMILY_COUNT || id.v == PEER_SELF.v)
		return;
	t = shard_table_of_peer(s, slot, family);
	r = &slot->rib[family];
	if (t == NULL || !r->planned)
		return;
	t->planned--;
	t->suppliers -= r->supplies;
	r->planned = r->supplies = false;
	r->generation_flags = 0;
	/*
	 * The last but one supplier to finish releases paths of the last; the last supplier
	 * releases the rest.
	 */
	if (t->suppliers <= 1)
		release_start(s, t);
}

uint64_t
shard_held(const struct shard *s)
{
	return shard_load(&s->held);
}

int
shard_originate(struct shard *s, struct vrf_id vrf, enum family family, const struct prefix *p,
	const struct attr_set *attrs)
{
	return shard_originate_from(s, vrf, family, p, SOURCE_NETWORK, 0, attrs);
}

int
shard_originate_from(struct shard *s, struct vrf_id vrf, enum family family, const struct prefix *p,
	enum route_source source, unsigned after, const struct attr_set *attrs)
{
	struct shard_table *t = shard_table_of(s, vrf, family);
	struct rib_nlri n = {.prefix = *p, .label = SHARD_LABEL_NONE};
	struct shard_accepted acc;
	int err;

	if (t == NULL)
		return -ENOENT;
	shard_sample_add(s, 0);
	if (attrs == NULL) {
		err = path_withdraw(s, t, PEER_SELF, &n, false, NULL);
		reuse_end(s);
		return err;
	}
	err = accepted_get(s, t->vrf, PEER_SELF, NULL, attrs, &acc);
	if (err != 0)
		return err;
	acc.flags |= (uint32_t)source << PATH_SOURCE_SHIFT | (after & PATH_AFTER);
	s->hint.v = DEST_NONE;
	err = path_announce(s, t, PEER_SELF, &n, &acc);
	reuse_end(s);
	accepted_put(s, &acc);
	return err;
}

/* ---- the loop ---- */

/*
 * Input first; while walks or scans of instances are pending, a quarter of the turn is left for
 * these, so that input never starves a flush.
 */
static uint64_t
live_deadline(const struct shard *s, uint64_t now_ns, uint64_t deadline_ns)
{
	if ((!walks_pending(s) && !leak_scans_pending(s)) || deadline_ns <= now_ns)
		return deadline_ns;
	return deadline_ns - (deadline_ns - now_ns) / 4;
}

bool
tables_reclaim(struct shard *s, uint64_t safe_sequence)
{
	struct shard_table *t;
	bool more = false;

	for (unsigned i = 0; (t = shard_table_next(s, s->stirred, &i)) != NULL;) {
		more |= dest_reclaim(t->dests, safe_sequence);
		if (!dest_at_rest(t->dests))
			continue;
		if (t->leaving)
			table_leave(s, t);
		else
			table_bit_set(s->stirred, t->id, false);
	}
	return more;
}

/* Reclaims until the deadline, at least one step. True if more is due. */
static bool
reclaim(struct shard *s, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	uint64_t safe = journal_safe_sequence(s->journal);
	bool more;

	do {
		more = tables_reclaim(s, safe);
		more |= attr_table_reclaim_some(s->attrs);
		(void)retire_reclaim(s->retired, RETIRED_MAX);
	} while (more && walk_clock() < deadline_ns);
	return more;
}

/* True if reclaim does not keep pace with input. */
static bool
reclaim_is_behind(const struct shard *s) RUNS_ON(role_rib)
{
	bool behind = attr_table_behind(s->attrs);
	const struct shard_table *t;

	for (unsigned i = 0; (t = shard_table_next(s, s->stirred, &i)) != NULL;)
		behind |= dest_behind(t->dests);
	return behind;
}

/* A quarter of the turn if reclaim keeps pace with input; otherwise the whole turn. */
static uint64_t
reclaim_deadline(const struct shard *s, uint64_t now_ns, uint64_t deadline_ns) RUNS_ON(role_rib)
{
	if (reclaim_is_behind(s))
		return deadline_ns;
	return deadline_ns > now_ns ? now_ns + (deadline_ns - now_ns) / 4 : deadline_ns;
}

void
consumers_wake(struct shard *s)
{
	if (s->entries == s->woken)
		return;
	s->woken = s->entries;
	if (s->config.wake_consumers != NULL)
		s->config.wake_consumers(s->config.wake_ctx);
}

bool
shard_work(struct shard *s, uint64_t now_ns, uint64_t deadline_ns)
{
	bool more, walks, leaks, garbage, hold, stay, waits, crowds;

	s->now_ns = now_ns;
	if (s->pace.waits)
		journal_wait(s->journal, s->config.index, false);
	s->pace.waits = false;
	note_work("freeing replaced paths");
	garbage = reclaim(s, reclaim_deadline(s, now_ns, deadline_ns));
	hold = tombstones_hold(s, deadline_ns);
	note_work("leaking of VPN routes");
	/* A flush that frees memory does not wait for tombstones: exports, which pass them, wait for the flush. */
	stay = hold && !arena_is_short();
	if (leak_pending(s) || leak_waits(s))
		s->cost.family = s->cost.leaks;
	else
		s->cost.owes = false;
	s->cost.since_ns = walk_clock();
	leaks = !stay && leak_run(s, live_deadline(s, now_ns, deadline_ns));
	note_work("import of UPDATEs");
	more = !hold && !leaks && import_run(s, live_deadline(s, now_ns, deadline_ns));
	shard_cost_of(s, s->cost.family);
	consumers_wake(s);
	note_work("walks over tables");
	walks = walks_run(s, deadline_ns, stay);
	/* input was not read if `leaks` */
	leaks = (!stay && leak_scan(s, deadline_ns)) || leaks || leak_pending(s);
	note_work("clearing up after a turn");
	consumers_wake(s);
	next_hops_tidy(s);
	if (s->config.index == 0 && now_ns - s->journal_tidied_ns >= JOURNAL_TIDY_NS) {
		s->journal_tidied_ns = now_ns;
		journal_tidy(s->journal);
	}
	if (walk_clock() < deadline_ns)
		garbage = reclaim(s, deadline_ns);
	waits = s->pace.waits || (s->late.waits && !walks_possible(s, stay));
	s->pace.waits = waits && !more && !garbage && hold == s->late.waits;
	/* the pause of crowds that are not due */
	crowds = leak_waits(s);
	s->pace.waits |= crowds && !more && !hold && !walks && !leaks && !garbage;
	if (s->pace.waits)
		journal_wait(s->journal, s->config.index, true);
	return more || hold || walks || leaks || garbage || crowds;
}

/* Nothing but input is to be done. */
static bool
only_input(const struct shard *s) RUNS_ON(role_rib)
{
	return !s->pace.waits && !walks_pending(s) && !leak_pending(s) && !leak_waits(s) &&
	       !leak_scans_pending(s);
}

bool
shard_help(struct shard *s, uint64_t now_ns, uint64_t deadline_ns)
{
	bool more;

	if (!only_input(s) || arena_is_short() || reclaim_is_behind(s) ||
		tombstones_hold(s, deadline_ns))
		return false;
	s->now_ns = now_ns;
	s->cost.owes = false;
	s->cost.since_ns = walk_clock();
	note_work("import of UPDATEs");
	more = import_run(s, deadline_ns);
	shard_cost_of(s, s->cost.family);
	consumers_wake(s);
	return !more && only_input(s);
}

bool
shard_waits(const struct shard *s)
{
	return s->pace.waits;
}

/* ---- readers ---- */

void
shard_peer_counts(
	const struct shard *s, struct peer_id id, enum family family, struct adj_rib_in_counts *out)
{
	const struct shard_peer_slot *slot = shard_slot(s, id);

	*out = (struct adj_rib_in_counts){0};
	if (slot != NULL && family < FAMILY_COUNT)
		adj_rib_in_counts_get(&slot->rib[family].counts, out);
}

bool
shard_peer_peek(const struct shard *s, struct peer_id id, struct shard_peer *out)
{
	const struct shard_peer_slot *slot = shard_slot(s, id);
	const struct shard_peer *key;

	if (slot == NULL)
		return false;
	/* acquire: pairs with the release in peer_insert */
	key = atomic_load_explicit(&slot->key, memory_order_acquire);
	if (key == NULL)
		return false;
	*out = *key;
	out->router_id = atomic_load_explicit(&slot->router_id, memory_order_relaxed);
	out->asn = atomic_load_explicit(&slot->asn, memory_order_relaxed);
	out->external = atomic_load_explicit(&slot->external, memory_order_relaxed);
	return true;
}

bool
shard_path_stale(const struct shard *s, enum family family, const struct rib_path *p)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);

	return slot != NULL && family < FAMILY_COUNT && !is_imported(p) &&
	       atomic_load_explicit(&p->epoch, memory_order_relaxed) !=
		       shard_epoch(&slot->rib[family]);
}

/* A destination with a path, and its share of the index: docs/architecture.md, "Memory". */
#define PATH_BYTES 48u

size_t
shard_peer_memory(const struct shard *s, struct peer_id id)
{
	const struct shard_peer_slot *slot = shard_slot(s, id);
	size_t sets, before, paths = 0;

	if (slot == NULL)
		return 0;
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		paths += shard_load(&slot->rib[f].counts.received);
	sets = attr_table_charged(s->attrs, id.v);
	before = atomic_load_explicit(&slot->charged_before, memory_order_relaxed);
	return paths * PATH_BYTES + (sets > before ? sets - before : 0);
}

enum decision_reason
shard_path_refused(const struct rib_path *p)
{
	return flags_refused(p->label_flags);
}

enum refused_cause
shard_path_refusal(const struct rib_path *p)
{
	return refused_of(flags_refused(p->label_flags));
}

const struct attr_packed *
shard_path_received(const struct shard *s, const struct rib_path *p)
{
	return attr_get(s->attrs, p->received);
}

void
shard_decision_input(const struct shard *s, const struct rib_path *p, struct decision_input *out)
{
	struct shard_peer peer = {0};
	enum decision_reason refused = shard_path_refused(p);
	const struct attr_packed *a =
		attr_get(s->attrs, refused != DECISION_EQUAL ? p->received : p->accepted);
	const struct shard_next_hop *n = NULL;
	struct ip_addr next_hop;

	(void)shard_peer_peek(s, p->peer, &peer);
	if (s->config.next_hop_tracking && p->peer.v != PEER_SELF.v && a != NULL) {
		next_hop = attr_packed_next_hop(a);
		n = next_hop_find(s, peer.vrf, &next_hop);
	}
	*out = (struct decision_input){
		.eligible =
			(p->label_flags & (PATH_NEXT_HOP_UP | PATH_REJECTED)) == PATH_NEXT_HOP_UP,
		.refused = refused,
		.external = peer.external,
		.local = p->peer.v == PEER_SELF.v,
		.after_external = (p->label_flags & PATH_AFTER_EXTERNAL) != 0,
		.after_internal = (p->label_flags & PATH_AFTER_INTERNAL) != 0,
		.igp_metric =
			n != NULL ? atomic_load_explicit(&n->metric, memory_order_relaxed) : 0,
		.router_id = peer.router_id,
		.peer_addr = peer.addr,
	};
	path_identity(s, p, out);
	if (a != NULL)
		out->attrs = attr_unpack_fixed(a, (struct attr_set *)(void *)out->fixed);
}

uint32_t
shard_cluster_id(const struct shard *s)
{
	return atomic_load_explicit(&s->cluster_id, memory_order_relaxed);
}

const struct hash_probes *
shard_next_hop_probes(const struct shard *s)
{
	return &s->next_hops.probes;
}

uint64_t
shard_failures(const struct shard *s)
{
	return shard_load(&s->failures);
}

uint64_t
shard_evictions(const struct shard *s)
{
	return shard_load(&s->evictions);
}

/*
 * Number, from 1, of the last sample that begins at or before `sequence`, among the newer half of
 * the ring, which the shard does not overwrite meanwhile. 0: no sample.
 */
static uint64_t
sample_of(const struct shard *s, uint64_t count, uint64_t sequence)
{
	uint64_t oldest = count > SHARD_SAMPLES / 2 ? count - SHARD_SAMPLES / 2 : 0, low = oldest,
		 high = count;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (shard_load(&s->sample[mid % SHARD_SAMPLES].first) <= sequence)
			low = mid + 1;
		else
			high = mid;
	}
	return low == oldest ? 0 : low;
}

uint64_t
shard_received_ns(const struct shard *s, uint64_t sequence)
{
	/* acquire: pairs with the release in shard_sample_add */
	uint64_t count = atomic_load_explicit(&s->sample_count, memory_order_acquire);
	uint64_t n = sample_of(s, count, sequence);

	return n > 0 ? shard_load(&s->sample[(n - 1) % SHARD_SAMPLES].received_ns) : 0;
}

bool
shard_received_next(const struct shard *s, uint64_t after, uint64_t sequence, uint64_t *at,
	uint64_t *received_ns)
{
	/* acquire: pairs with the release in shard_sample_add */
	uint64_t count = atomic_load_explicit(&s->sample_count, memory_order_acquire);
	uint64_t oldest = count > SHARD_SAMPLES / 2 ? count - SHARD_SAMPLES / 2 : 0;
	uint64_t n = *at != 0 ? *at + 1 : sample_of(s, count, after + 1);

	if (n <= oldest)
		n = oldest + 1;
	*at = n;
	if (n > count || shard_load(&s->sample[(n - 1) % SHARD_SAMPLES].first) > sequence)
		return false;
	*received_ns = shard_load(&s->sample[(n - 1) % SHARD_SAMPLES].received_ns);
	return true;
}
