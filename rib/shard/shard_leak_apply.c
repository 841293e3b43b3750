/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Imports a path into an instance, and exports an own path of an instance to the VPN table and to the
 * other local instances: the policies, the limit of routes, and the publication.
 */
#include "rib/shard/shard_leak_impl.h"

#include <errno.h>
#include <string.h>

/* ---- imports ---- */

uint64_t
leak_routes_of(const struct shard *s, const struct instance *x)
{
	static const uint8_t afis[] = {AFI_IPV4, AFI_IPV6};
	uint64_t count = 0;

	for (unsigned k = 0; k < SHARDS_MAX; k++) {
		const struct shard *one = s->config.siblings != NULL ? s->config.siblings[k]
					  : k == 0		     ? s
								     : NULL;
		struct table_id id;

		if (one == NULL)
			break;
		for (unsigned i = 0; i < 2; i++)
			if (shard_table_find(one, x->vrf, unicast_of(afis[i]), &id) == 0)
				count += dest_count(shard_table(one, id));
	}
	return count;
}

bool
leak_limit_reached(const struct shard *s, const struct instance *x, const struct shard_table *t,
	const struct prefix *p)
{
	struct dest_id id;
	struct dest_view view;

	if (x->max_routes == 0 || leak_routes_of(s, x) < x->max_routes)
		return false;
	id = dest_find(t->dests, p);
	return id.v == DEST_NONE || !dest_peek_best(t->dests, id, &view) || view.paths == NULL;
}

void
leak_refused_add(struct shard_leak *l, struct instance *x)
{
	x->recount += x->filling;
	if (x->filling && shard_load(&x->refused) >= x->recount)
		return; /* fill_end() sets the number */
	leak_refused_set(l, x, shard_load(&x->refused) + 1);
}

/*
 * path_import(), or the change waits with others of a crowded destination. Changes of exports of
 * local instances do not wait: import_drop_others() reads the paths that are left.
 */
static int
import_put(struct shard *s, struct shard_leak *l, struct shard_table *t, const struct source *src,
	uint32_t number, uint32_t label, const struct shard_accepted *acc) RUNS_ON(role_rib)
{
	unsigned paths = s->config.crowd;
	struct rib_path path = {.peer = src->path.peer, .path_id = number};

	if (src->origin.vrf.v != VRF_DEFAULT.v)
		return path_import(s, t, src->path.peer, src->prefix, number, label, acc);
	if (!leak_crowd_is(l, t, src->prefix)) {
		paths = path_count_of(t, src->prefix);
		if (paths < s->config.crowd)
			return path_import(s, t, src->path.peer, src->prefix, number, label, acc);
	}
	if (acc != NULL)
		path_imported(s, t, src->path.peer, number, label, acc, &path);
	return leak_crowd_put(s, l, t, src->prefix, &path, acc != NULL, paths);
}

int
leak_import_drop(
	struct shard *s, struct shard_leak *l, struct instance *x, const struct source *src)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	uint32_t number = leak_origin_find(l->origins, &src->origin);

	x->recount_due = true; /* the path may be a refused one */
	if (t == NULL || number == 0)
		return 0;
	return import_put(s, l, t, src, number, RIB_LABEL_NONE, NULL);
}

/*
 * Removes imported paths with the origin of `src` and another peer: a local instance has one
 * exported path a destination, of any peer. 0, -ENOMEM.
 */
static int
import_drop_others(struct shard *s, struct shard_leak *l, struct instance *x,
	const struct source *src) RUNS_ON(role_rib)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	uint32_t number = leak_origin_find(l->origins, &src->origin);
	struct dest_view view;
	struct dest_id id;
	bool found = true;

	x->recount_due = true; /* as in leak_import_drop() */
	if (t == NULL || number == 0)
		return 0;
	id = dest_find(t->dests, src->prefix);
	while (found && id.v != DEST_NONE && dest_peek(t->dests, id, &view) && view.paths != NULL) {
		found = false;
		for (unsigned i = 0; !found && i < view.paths->count; i++) {
			const struct rib_path *p = &view.paths->path[i];
			int err;

			if (!is_imported(p) || p->path_id != number ||
				p->peer.v == src->path.peer.v)
				continue;
			found = true;
			err = path_import(s, t, p->peer, src->prefix, number, RIB_LABEL_NONE, NULL);
			if (err != 0)
				return err;
			number = leak_origin_find(l->origins, &src->origin);
			if (number == 0)
				return 0;
		}
	}
	return 0;
}

static enum route_source
source_of(const struct shard *s, const struct rib_path *p)
{
	if (p->peer.v == PEER_SELF.v)
		return (enum route_source)rib_path_source(p);
	return atomic_load_explicit(&shard_slot(s, p->peer)->external, memory_order_relaxed)
		       ? SOURCE_EXTERNAL
		       : SOURCE_INTERNAL;
}

/*
 * The import policy of the instance: *acc has a reference with *held. 0; -EPERM: denied; -ENOMEM.
 */
static int
import_evaluate_policy(struct shard *s, const struct instance *x, const struct shard_table *t,
	const struct source *src, struct shard_accepted *acc, bool *held) RUNS_ON(role_rib)
{
	const struct shard_peer_slot *slot = shard_slot(s, src->path.peer);
	const struct shard_peer *key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	struct policy_context context = {.peer = key->addr,
		.peer_asn = asn_of(slot),
		.peer_group = key->group_key,
		.family = t->family,
		.source = source_of(s, &src->path)};
	struct policy_verdict v = {.permit = true};
	const struct shard_next_hop *n;
	int err;

	*held = true;
	if (x->import_policy == policy_deny_all())
		return -EPERM;
	if (x->import_policy != NULL && x->import_policy != policy_accept_all()) {
		(void)attr_read(s->attrs, src->path.accepted, s->unpacked);
		err = policy_eval_begin(s->eval, x->import_policy, s->unpacked, &context);
		if (err == 0)
			err = policy_eval_prefix(s->eval, src->prefix, &v);
		if (err != 0)
			return err;
		if (!v.permit)
			return -EPERM;
		if (v.attrs != s->unpacked)
			return accepted_get(s, key->vrf, src->path.peer, NULL, v.attrs, acc);
	}
	if (src->origin.vrf.v != VRF_DEFAULT.v)
		return accepted_hold(s, key->vrf, src->path.peer, src->path.accepted, acc);
	/* the source holds the set and the next hop */
	*held = false;
	n = next_hop_of(s, key->vrf, &src->path);
	*acc = (struct shard_accepted){
		.id = src->path.accepted, .flags = src->path.label_flags & PATH_MED};
	if (next_hop_eligible(s, shard_slot(s, src->path.peer), src->path.peer, n, NULL))
		acc->flags |= PATH_NEXT_HOP_UP;
	return 0;
}

int
leak_import_apply(
	struct shard *s, struct shard_leak *l, struct instance *x, const struct source *src)
{
	struct shard_table *t = shard_table_of(s, x->vrf, unicast_of(src->prefix->afi));
	struct shard_accepted acc;
	uint32_t number;
	bool held;
	int err;

	if (t == NULL)
		return 0;
	/* the route may be counted as refused; a fill may count the route once more */
	x->recount_due |= !l->visiting;
	err = import_evaluate_policy(s, x, t, src, &acc, &held);
	if (err == -EPERM)
		return leak_import_drop(s, l, x, src);
	if (err != 0)
		return err;
	if (leak_limit_reached(s, x, t, src->prefix)) {
		leak_refused_add(l, x);
		if (leak_crowd_is(l, t, src->prefix)) { /* an earlier announcement may wait */
			number = leak_origin_find(l->origins, &src->origin);
			err = number != 0 ? import_put(s, l, t, src, number, RIB_LABEL_NONE, NULL)
					  : 0;
		}
	} else {
		err = leak_origin_hold(l->origins, &src->origin, &number);
		if (err == 0) {
			acc.flags |= PATH_IMPORTED;
			if (src->path.peer.v == PEER_SELF.v)
				acc.flags |= rib_path_source(&src->path) << PATH_SOURCE_SHIFT |
					     (src->path.label_flags & PATH_AFTER);
			err = import_put(s, l, t, src, number, src->path.label_flags >> 12, &acc);
			leak_origin_unref(l->origins, number);
		}
	}
	if (held)
		accepted_put(s, &acc);
	return err;
}

/* ---- exports ---- */

/*
 * Copies `a` to `out`, with `strip` without its route targets, and adds missing targets. False: no
 * room.
 */
static bool
targets_edit(const struct attr_set *a, bool strip, const struct ext_community *add, unsigned adds,
	struct attr_set *out)
{
	const uint8_t *ext = attr_ext_communities(a);
	const uint8_t *rest = attr_large_communities(a);
	size_t rest_len = attr_set_var_len(a) - (size_t)(rest - a->var);
	uint8_t *first, *w;

	if (attr_set_size(a) + (size_t)8 * adds > ATTR_SET_MAX)
		return false;
	memcpy(out, a, sizeof(*a) + (size_t)(ext - a->var));
	w = first = out->var + (ext - a->var);
	for (unsigned i = 0; i < a->ext_community_count; i++, ext += 8) {
		if (strip && ext_community_is(ext_community_get(ext), EXT_ROUTE_TARGET))
			continue;
		memcpy(w, ext, 8);
		w += 8;
	}
	for (unsigned i = 0; i < adds; i++) {
		bool there = false;

		for (const uint8_t *at = first; at < w; at += 8)
			there |= ext_community_get(at).v == add[i].v;
		if (there)
			continue;
		ext_community_put(add[i], w);
		w += 8;
	}
	out->ext_community_count = (uint16_t)((w - first) / 8);
	memcpy(w, rest, rest_len);
	return true;
}

static bool
targets_any(const struct attr_set *a)
{
	const uint8_t *ext = attr_ext_communities(a);

	for (unsigned i = 0; i < a->ext_community_count; i++)
		if (ext_community_is(ext_community_get(ext + (size_t)8 * i), EXT_ROUTE_TARGET))
			return true;
	return false;
}

void
leak_exported_forget(struct shard *s, struct shard_leak *l)
{
	if (l->exported.x != NULL && l->exported.result.v != 0)
		attr_unref(s->attrs, l->exported.result, 1);
	l->exported.x = NULL;
}

/*
 * The set under which an own path is exported, with a reference; .v == 0: export policy denies, or
 * neither the instance nor the policy has a target (RFC 4364 4.3.1). 0, -ENOMEM.
 */
static int
export_set(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct prefix *prefix, const struct rib_path *p, struct attr_id *out)
	RUNS_ON(role_rib)
{
	const struct shard_peer_slot *slot = shard_slot(s, p->peer);
	const struct shard_peer *key = atomic_load_explicit(&slot->key, memory_order_relaxed);
	struct policy_context context = {.peer = key->addr,
		.peer_asn = asn_of(slot),
		.peer_group = key->group_key,
		.family = vpn_of(prefix->afi),
		.source = source_of(s, p)};
	const struct policy *policy = x->export_policy;
	struct policy_verdict v = {.permit = policy != policy_deny_all(), .attrs = l->set};
	int err = 0;

	out->v = 0;
	(void)attr_read(s->attrs, p->accepted, s->unpacked);
	if (!targets_edit(s->unpacked, true, NULL, 0, l->set))
		return 0;
	if (policy != NULL && policy != policy_accept_all() && v.permit) {
		err = policy_eval_begin(s->eval, policy, l->set, &context);
		if (err == 0)
			err = policy_eval_prefix(s->eval, prefix, &v);
	}
	if (err != 0 || !v.permit)
		return err;
	if (!targets_edit(
		    v.attrs, false, x->targets + x->import_count, x->export_count, l->edited) ||
		!targets_any(l->edited))
		return 0;
	attr_table_owner(s->attrs, p->peer.v);
	err = attr_intern(s->attrs, l->edited, 1, out);
	return err == -E2BIG ? 0 : err;
}

/* export_set() with the last result, because prefixes often share a set. */
static int
export_set_cached(struct shard *s, struct shard_leak *l, const struct instance *x,
	const struct prefix *prefix, const struct rib_path *p, struct attr_id *out)
	RUNS_ON(role_rib)
{
	struct last_policy *last = &l->exported;
	uint32_t serial = attr_serial(s->attrs, p->accepted);
	int err;

	if (last->x == x && last->set == p->accepted.v && last->serial == serial &&
		last->version == l->version && last->peer.v == p->peer.v) {
		*out = last->result;
		if (out->v != 0)
			attr_ref(s->attrs, *out, 1);
		return 0;
	}
	err = export_set(s, l, x, prefix, p, out);
	if (err != 0 || (x->export_policy != NULL && policy_asks_prefix(x->export_policy)))
		return err;
	leak_exported_forget(s, l);
	*last = (struct last_policy){.x = x,
		.set = p->accepted.v,
		.serial = serial,
		.version = l->version,
		.peer = p->peer,
		.result = *out};
	if (out->v != 0)
		attr_ref(s->attrs, *out, 1);
	return 0;
}

/* Announces or withdraws the exported path in the VPN table. 0, -ENOMEM. */
static int
export_publish(struct shard *s, struct instance *x, struct shard_table *vpn,
	const struct prefix *prefix, const struct rib_path *own, struct attr_id set, bool was)
	RUNS_ON(role_rib)
{
	struct rib_nlri n = {.prefix = *prefix, .rd = x->rd, .label = x->label};
	struct shard_accepted acc = {.id = set};
	int err;

	s->hint.v = DEST_NONE;
	if (set.v == 0) {
		err = was ? path_withdraw(s, vpn, PEER_SELF, &n, false, NULL) : 0;
	} else {
		acc.flags = PATH_NEXT_HOP_UP | (own->label_flags & PATH_MED) |
			    (uint32_t)source_of(s, own) << PATH_SOURCE_SHIFT;
		err = path_announce(s, vpn, PEER_SELF, &n, &acc);
	}
	if (err == 0)
		shard_count(&x->exported, (set.v != 0) - was);
	return err;
}

/* The exported path of a prefix under an RD; .accepted.v == 0: none. */
static struct rib_path
exported_path(const struct shard_table *vpn, struct vpn_rd rd, const struct prefix *prefix)
	RUNS_ON(role_rib)
{
	struct dest_id id = dest_find_rd(vpn->dests, rd, prefix);
	struct rib_path p = {.accepted = {0}};

	if (rd.v == 0 || id.v == DEST_NONE || !path_read(vpn, id, PEER_SELF, 0, &p))
		p.accepted.v = 0;
	return p;
}

/* Ends the export of a prefix under x->old_rd. 0, -ENOMEM. */
static int
export_end_old(struct shard *s, struct shard_leak *l, struct instance *x, struct shard_table *vpn,
	const struct prefix *prefix) RUNS_ON(role_rib)
{
	struct rib_nlri n = {.prefix = *prefix, .rd = x->old_rd};
	struct rib_path old = exported_path(vpn, x->old_rd, prefix);
	struct source none = {.prefix = prefix,
		.origin = {.rd = x->old_rd, .vrf = x->vrf},
		.path = {.peer = {PEER_MAX}}};
	unsigned was = leak_match(s, l, old.accepted, l->was);
	int err = 0;

	for (unsigned i = 0; err == 0 && i < was; i++)
		if (l->was[i].v != x->vrf.v)
			err = import_drop_others(s, l, instance_of(s, l->was[i]), &none);
	if (err != 0 || old.accepted.v == 0)
		return err;
	s->hint.v = DEST_NONE;
	err = path_withdraw(s, vpn, PEER_SELF, &n, false, NULL);
	if (err == 0)
		shard_count(&x->exported, -1);
	return err;
}

/* Marks the instances of a list: `mark` of an instance equals that of the engine. */
static void
mark_all(const struct shard *s, struct shard_leak *l, const struct vrf_id *list, unsigned count)
{
	l->mark++;
	for (unsigned i = 0; i < count; i++)
		instance_of(s, list[i])->mark = l->mark;
}

/* Exports `src` with the set, also to local instances; a set 0 ends the export. 0, -ENOMEM. */
static int
export_apply(struct shard *s, struct shard_leak *l, struct instance *x, struct shard_table *vpn,
	struct source *src, struct attr_id set) RUNS_ON(role_rib)
{
	struct rib_path old = exported_path(vpn, x->rd, src->prefix);
	unsigned now = leak_match(s, l, set, l->now), was = leak_match(s, l, old.accepted, l->was);
	struct source none = *src;
	int err = 0;

	src->path.path_id = 0;
	src->path.accepted = set;
	for (unsigned i = 0; err == 0 && i < now; i++) {
		struct instance *to = instance_of(s, l->now[i]);

		if (to == x)
			continue;
		err = leak_import_apply(s, l, to, src);
		if (err == 0)
			err = import_drop_others(s, l, to, src);
	}
	mark_all(s, l, l->now, now);
	none.path.peer.v = PEER_MAX;
	for (unsigned i = 0; err == 0 && i < was; i++) {
		struct instance *to = instance_of(s, l->was[i]);

		if (to != x && to->mark != l->mark)
			err = import_drop_others(s, l, to, &none);
	}
	if (err != 0)
		return err;
	return export_publish(s, x, vpn, src->prefix, &src->path, set, old.accepted.v != 0);
}

/* ---- items of the list ---- */

int
leak_own_apply(struct shard *s, struct shard_leak *l, const struct item *item)
{
	struct shard_table *t = shard_table_at(s, item->table.v),
			   *vpn = shard_table_of(s, VRF_DEFAULT, vpn_of(item->prefix.afi));
	struct instance *x = instance_of(s, t->vrf);
	struct attr_id set = {0};
	struct source src;
	struct dest_id id = item->id;
	int err = -ENOENT;

	if (x == NULL || !x->exists || vpn == NULL)
		return 0;
	src = (struct source){.prefix = &item->prefix, .origin = {.rd = x->rd, .vrf = x->vrf}};
	if (!dest_is(t->dests, id, item->rd, &item->prefix))
		id = dest_find(t->dests, &item->prefix);
	if (x->rd.v != 0 && !x->leaving && id.v != DEST_NONE)
		err = path_best_own(s, t, id, &src.path);
	if (err == 0)
		err = export_set_cached(s, l, x, &item->prefix, &src.path, &set);
	if (err != 0 && err != -ENOENT)
		return err;
	err = x->rd.v != 0 ? export_apply(s, l, x, vpn, &src, set) : 0;
	if (err == 0 && x->old_rd.v != 0)
		err = export_end_old(s, l, x, vpn, &item->prefix);
	if (set.v != 0)
		attr_unref(s->attrs, set, 1);
	return err;
}

int
leak_vpn_apply(struct shard *s, struct shard_leak *l, const struct item *item)
{
	const struct shard_table *t = shard_table_at(s, item->table.v);
	struct source src = {
		.prefix = &item->prefix, .origin = {.rd = item->rd, .path_id = item->path_id}};
	unsigned now = 0, was = leak_match(s, l, item->old, l->was);
	struct dest_id id = item->id;
	int err = 0;

	if (!dest_is(t->dests, id, item->rd, &item->prefix))
		id = dest_find_rd(t->dests, item->rd, &item->prefix);
	if (id.v != DEST_NONE && path_read(t, id, item->peer, item->path_id, &src.path) &&
		!(src.path.label_flags & PATH_REJECTED))
		now = leak_match(s, l, src.path.accepted, l->now);
	for (unsigned i = 0; err == 0 && i < now; i++)
		err = leak_import_apply(s, l, instance_of(s, l->now[i]), &src);
	mark_all(s, l, l->now, now);
	src.path.peer = item->peer;
	for (unsigned i = 0; err == 0 && i < was; i++)
		if (instance_of(s, l->was[i])->mark != l->mark)
			err = leak_import_drop(s, l, instance_of(s, l->was[i]), &src);
	return err;
}
