/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The instances of the leak engine: configuration (shard_instance_set()), lists by route target and RD,
 * a change of the RD, and counts.
 */
#include "rib/shard/shard_leak_impl.h"

#include <errno.h>

/* ---- instances ---- */

void
leak_table_mark(struct shard *s, struct shard_table *t)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	const struct instance *x = instance_of(s, t->vrf);

	t->leak = LEAK_NOTHING;
	if (family_safi(t->family) == SAFI_VPN)
		t->leak = l != NULL && l->instances > 0 ? LEAK_VPN : LEAK_NOTHING;
	else if (x != NULL && x->exists)
		t->leak = LEAK_OWN;
}

static void
tables_mark(struct shard *s, struct vrf_id vrf)
{
	static const enum family all[] = {FAMILY_IPV4_UNICAST, FAMILY_IPV6_UNICAST,
		FAMILY_VPNV4_UNICAST, FAMILY_VPNV6_UNICAST};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct shard_table *t = shard_table_of(
			s, family_safi(all[i]) == SAFI_VPN ? VRF_DEFAULT : vrf, all[i]);

		if (t != NULL)
			leak_table_mark(s, t);
	}
}

/* Routes follow: all caches of matches and policies end here. */
static void
instance_changed(struct shard *s, struct shard_leak *l, struct instance *x)
{
	l->version++;
	leak_exported_forget(s, l);
	scan_again(l, x);
	l->fills_due += !x->fill_due;
	x->fill_due = x->export_due = true;
	tables_mark(s, x->vrf);
}

void
leak_refused_set(struct shard_leak *l, struct instance *x, uint64_t count)
{
	l->refusing += (count > 0) - (shard_load(&x->refused) > 0);
	atomic_store_explicit(&x->refused, count, memory_order_relaxed);
}

static bool
imports(const struct instance *x, uint64_t target)
{
	for (unsigned i = 0; i < x->import_count; i++)
		if (x->targets[i].v == target)
			return true;
	return false;
}

/* Lists the instance for targets[0 .. count-1]. 0; -ENOMEM: nothing changed. */
static int
targets_list(struct shard_leak *l, const struct instance *x, const struct ext_community *targets,
	unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (leak_index_add(l->importers, targets[i].v, x->vrf) == 0)
			continue;
		while (i-- > 0)
			if (!imports(x, targets[i].v))
				leak_index_remove(l->importers, targets[i].v, x->vrf);
		return -ENOMEM;
	}
	return 0;
}

/* Ends the listing for targets that are not among targets[0 .. count-1]. */
static void
targets_unlist(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct ext_community *targets, unsigned count)
{
	for (unsigned i = 0; i < x->import_count; i++) {
		bool stays = false;

		for (unsigned k = 0; k < count; k++)
			stays |= targets[k].v == x->targets[i].v;
		if (stays)
			continue;
		leak_index_remove(l->importers, x->targets[i].v, x->vrf);
		l->drop_due |= s->vpn_imported_only;
	}
}

static int
instance_make(struct shard *s, struct shard_leak *l, struct vrf_id vrf, struct instance **out)
{
	struct instance *x = atomic_load_explicit(&l->instance[vrf.v], memory_order_relaxed);

	if (x == NULL) {
		x = arena_calloc(s->arena, sizeof(*x));
		if (x == NULL)
			return -ENOMEM;
		x->vrf = vrf;
		/* release: pairs with the acquire in instance_of */
		atomic_store_explicit(&l->instance[vrf.v], x, memory_order_release);
	}
	*out = x;
	return 0;
}

bool
leak_rd_taken(const struct shard *s, const struct shard_leak *l, struct vpn_rd rd)
{
	unsigned count;
	const struct vrf_id *list = leak_index_find(l->exporters, rd.v, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct instance *x = instance_of(s, list[i]);

		if (x->rd.v == rd.v || x->old_rd.v == rd.v)
			return true;
	}
	return false;
}

/* Ends the listing of the instance under an RD out of use. */
static void
rd_unlist(struct shard_leak *l, const struct instance *x, struct vpn_rd rd)
{
	if (rd.v != 0 && rd.v != x->rd.v && rd.v != x->old_rd.v && rd.v != x->next_rd.v)
		leak_index_remove(l->exporters, rd.v, x->vrf);
}

void
leak_rd_take(const struct shard *s, const struct shard_leak *l, struct instance *x)
{
	if (x->rd.v == x->next_rd.v || x->old_rd.v != 0)
		return;
	x->old_rd = x->rd;
	x->rd.v = 0;
	if (!leak_rd_taken(s, l, x->next_rd))
		x->rd = x->next_rd;
}

void
leak_rd_release(const struct shard *s, struct shard_leak *l, struct instance *x)
{
	struct vpn_rd old = x->old_rd;
	const struct vrf_id *list;
	unsigned count;

	if (old.v == 0)
		return;
	x->old_rd.v = 0;
	rd_unlist(l, x, old);
	list = leak_index_find(l->exporters, old.v, &count);
	for (unsigned i = 0; i < count; i++)
		scan_again(l, instance_of(s, list[i]));
}

int
shard_instance_set(struct shard *s, const struct shard_instance *i)
{
	struct vpn_rd rd = i->label != RIB_LABEL_NONE ? i->rd : (struct vpn_rd){0}, old;
	unsigned count = i->import_count + i->export_count;
	struct ext_community *targets;
	struct shard_leak *l;
	struct instance *x;
	int err;

	if (i->vrf.v == VRF_DEFAULT.v || i->vrf.v >= SHARD_INSTANCES_MAX)
		return -EINVAL;
	err = leak_make(s, &l);
	if (err == 0)
		err = instance_make(s, l, i->vrf, &x);
	if (err != 0)
		return err;
	/* also when memory is missing below: the caller frees the old policies */
	x->import_policy = i->import_policy;
	x->export_policy = i->export_policy;
	targets = arena_alloc(s->arena, (count + 1) * sizeof(*targets));
	if (targets == NULL)
		return -ENOMEM;
	for (unsigned k = 0; k < count; k++)
		targets[k] = k < i->import_count ? i->import_targets[k]
						 : i->export_targets[k - i->import_count];
	if (rd.v != 0)
		err = leak_index_add(l->exporters, rd.v, i->vrf);
	if (err == 0)
		err = targets_list(l, x, targets, i->import_count);
	if (err != 0) {
		rd_unlist(l, x, rd);
		arena_free(s->arena, targets);
		return err;
	}
	targets_unlist(s, l, x, targets, i->import_count);
	arena_free(s->arena, x->targets);
	x->targets = targets;
	x->import_count = i->import_count;
	x->export_count = i->export_count;
	x->label = i->label;
	x->max_routes = i->max_routes;
	old = x->next_rd;
	x->next_rd = rd;
	rd_unlist(l, x, old);
	/* without an instance, changes of VPN tables were not noted, also after a pass that dropped paths */
	if (l->instances == 0)
		l->places_are = PLACES_UNKNOWN;
	l->instances += !x->exists;
	x->leaving = false;
	x->exists = true;
	instance_changed(s, l, x);
	return 0;
}

static bool
asks_group(const struct policy *p)
{
	return p != NULL && policy_uses_group(p);
}

void
leak_group_changed(struct shard *s)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);

	for (uint16_t i = 0; l != NULL && i < SHARD_INSTANCES_MAX; i++) {
		struct instance *x = instance_of(s, (struct vrf_id){i});

		if (x != NULL && x->exists &&
			(asks_group(x->import_policy) || asks_group(x->export_policy)))
			instance_changed(s, l, x);
	}
}

int
shard_instance_remove(struct shard *s, struct vrf_id vrf)
{
	struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	struct instance *x = instance_of(s, vrf);
	struct vpn_rd old;

	if (x == NULL || !x->exists)
		return -ENOENT;
	targets_unlist(s, l, x, NULL, 0);
	x->import_count = x->export_count = 0;
	old = x->next_rd;
	x->next_rd.v = 0;
	rd_unlist(l, x, old);
	x->leaving = true;
	instance_changed(s, l, x);
	return 0;
}

void
leak_instance_end(struct shard *s, struct shard_leak *l, struct instance *x)
{
	x->exists = x->leaving = false;
	x->import_policy = x->export_policy = NULL;
	if (x->fill_due)
		l->fills_due--;
	x->fill_due = x->filling = x->export_due = false;
	leak_refused_set(l, x, 0);
	leak_crowded_clear(l, x);
	l->instances--;
	l->drop_due |= s->vpn_imported_only;
	tables_mark(s, x->vrf);
}

bool
shard_instance_idle(const struct shard *s, struct vrf_id vrf)
{
	const struct shard_leak *l = atomic_load_explicit(&s->leak, memory_order_relaxed);
	const struct instance *x = instance_of(s, vrf);

	if (x == NULL || !x->exists)
		return true;
	return !x->leaving && x->rd.v == x->next_rd.v && x->old_rd.v == 0 && !x->scan_due &&
	       !x->fill_due && !x->filling && l->scanning != x && l->count == 0 &&
	       !leak_crowds_before(l, x->filled_before);
}

void
shard_instance_counts(const struct shard *s, struct vrf_id vrf, struct shard_instance_counts *out)
{
	const struct instance *x = instance_of(s, vrf);
	static const uint8_t afis[] = {AFI_IPV4, AFI_IPV6};

	*out = (struct shard_instance_counts){0};
	if (x == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		struct table_id id;

		if (shard_table_find(s, vrf, unicast_of(afis[i]), &id) == 0)
			out->imported +=
				shard_load(&shard_table_at(s, id.v)->imports.counts.received);
	}
	out->exported = shard_load(&x->exported);
	out->refused = shard_load(&x->refused);
	out->crowded = shard_load(&x->crowded);
	out->crowded_by.v = atomic_load_explicit(&x->crowded_by, memory_order_relaxed);
}
