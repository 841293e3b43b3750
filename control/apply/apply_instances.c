/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VPN instances of the running configuration: tables in the shards, and labels. A commit adds an
 * instance before peers and routes of the instance. A removed instance ends when all peers of the
 * instance are gone and the tables are empty. An instance that a commit adds again before the end
 * continues with id, tables and label.
 */
#include "control/apply/apply_impl.h"

#include "control/apply/labels.h"
#include "control/base/log.h"
#include "control/config/policy_compile.h"
#include "control/host/vrf_netns.h"
#include "control/config/vrf_names.h"
#include "lpm/fib.h"
#include "lpm/label_table.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_POLL_NS UINT64_C(50000000)
#define RETRY_NS UINT64_C(10000000000) /* for a label or memory */
#define UNICAST_FAMILIES 2
#define NETNS_OWNER_MAX 250 /* an alias of an interface has at most 255 octets */

static const enum family unicast[UNICAST_FAMILIES] = {FAMILY_IPV4_UNICAST, FAMILY_IPV6_UNICAST};

enum instance_state {
	INSTANCE_RESERVED, /* for the configuration of a commit under way */
	INSTANCE_RUNS,
	INSTANCE_ENDS,
};

struct instance {
	enum instance_state state;
	struct vrf_id id;
	char name[VRF_NAME_MAX + 1];
	uint32_t label; /* 0: none */
	bool label_set; /* workers know the label; only then it is advertised */
	/* of the last shard_instance_set() */
	uint32_t leak_label;
	const struct policy *import_policy, *export_policy;
	bool leak_due; /* the last call failed */
	/*
	 * For sessions and ports: the namespace exists, has a mirror and a listener, is wanted, or
	 * could not be created (-errno).
	 */
	struct netns netns;
	bool has_netns, netns_runs, wants_netns;
	int netns_error;
	bool port_skipped; /* opened without the namespace */
};

/* Of an instance, for the shards. */
struct leak_change {
	struct instance *instance;
	struct shard_instance set;
	bool removes; /* after `set` */
	int result;
};

struct apply_instances {
	struct apply *apply;
	struct labels *labels;
	/* running at the last apply_instances_switch(); lives until the end of the commit */
	const struct config *applied;
	struct instance *by_id[VRF_IDS_MAX];
	struct timer timer; /* while an instance ends, or lacks a label or memory */
	bool imported_only; /* shard_vpn_imported_only() */
	bool refresh_due; /* the shards lack VPN routes that the peers have */
	struct leak_change change[VRF_IDS_MAX]; /* for leak_changes_apply() */
	unsigned changes;
	bool has_ports; /* with a data plane */
};

/* ---- tables ---- */

struct table_order {
	struct shard *shard; /* of the thread */
	struct vrf_id vrf;
	enum family family;
	struct table_id id; /* of a new table; in all shards the same */
	int result;
};

static void
rib_table_create(void *arg) RUNS_ON(role_rib)
{
	struct table_order *o = arg;
	int err = shard_table_create(o->shard, o->id, o->vrf, o->family);

	if (err != 0 && err != -EEXIST)
		o->result = err;
}

static void
rib_tables_remove(void *arg) RUNS_ON(role_rib)
{
	struct table_order *o = arg;

	for (unsigned f = 0; f < UNICAST_FAMILIES; f++) {
		int err = shard_table_find(o->shard, o->vrf, unicast[f], &o->id);

		if (err == 0)
			err = shard_table_remove(o->shard, o->id);
		if (err != 0 && err != -ENOENT)
			o->result = err;
	}
}

/*
 * A table that ends occupies its id in the shard until no thread reads the table: some turns of the
 * shard. If another shard still has a table of the instance, main waits for the id, at most so long.
 */
#define TABLE_END_NS 1000000000ull

/* Creates the tables of an instance in all shards that lack the tables. 0, -errno. */
static int
tables_create(struct apply *apply, struct vrf_id vrf) RUNS_ON(role_main)
{
	uint64_t end = now_ns() + TABLE_END_NS;
	const struct shards *shards = &apply->layers->shards;
	int err = 0;

	for (unsigned f = 0; err == 0 && f < UNICAST_FAMILIES; f++) {
		struct table_order o = {.vrf = vrf, .family = unicast[f]};
		unsigned have = 0;

		for (unsigned i = 0; i < shards->count; i++)
			have += shard_table_find(shards->at[i], vrf, unicast[f], &o.id) == 0;
		if (have == shards->count)
			continue;
		if (have == 0) { /* a table that ends may be freed meanwhile: read in a section */
			layers_rib_read_begin(apply->layers);
			o.id = shards_table_unused(shards);
			layers_rib_read_end(apply->layers);
		}
		do {
			o.result = 0;
			layers_on_shards(apply->layers, rib_table_create, &o, &o.shard);
		} while (o.result == -EBUSY && now_ns() < end);
		err = o.result;
	}
	return err;
}

struct fib_tables_order {
	struct fib *fib;
	const struct vrf_id *ids;
	unsigned count;
	int result;
};

static void
fib_tables(void *arg) RUNS_ON(role_fib)
{
	struct fib_tables_order *o = arg;

	for (unsigned i = 0; i < o->count && o->result == 0; i++) {
		o->result = fib_instance_add(o->fib, o->ids[i], AFI_IPV4);
		if (o->result == 0)
			o->result = fib_instance_add(o->fib, o->ids[i], AFI_IPV6);
	}
}

/* ---- leaking ---- */

struct leak_order {
	struct shard *shard; /* of the thread */
	struct leak_change *change;
	unsigned count;
};

static void
rib_leak(void *arg) RUNS_ON(role_rib)
{
	struct leak_order *o = arg;

	for (unsigned i = 0; i < o->count; i++) {
		struct leak_change *c = &o->change[i];
		int err = shard_instance_set(o->shard, &c->set);

		if (c->removes)
			(void)shard_instance_remove(o->shard, c->set.vrf);
		if (err != 0)
			c->result = err;
	}
}

struct idle_order {
	struct shard *shard; /* of the thread */
	struct vrf_id vrf;
	bool idle; /* of all shards */
};

static void
rib_leak_idle(void *arg) RUNS_ON(role_rib)
{
	struct idle_order *o = arg;

	o->idle &= shard_instance_idle(o->shard, o->vrf);
}

struct only_order {
	struct shard *shard; /* of the thread */
	bool on;
};

static void
rib_imported_only(void *arg) RUNS_ON(role_rib)
{
	struct only_order *o = arg;

	shard_vpn_imported_only(o->shard, o->on);
}

/* True if VPN routes of the peer are passed on to other peers, also without an instance. */
static bool
passes_on(const struct config_peer *p)
{
	return (p->families[FAMILY_VPNV4_UNICAST].enabled ||
		       p->families[FAMILY_VPNV6_UNICAST].enabled) &&
	       (p->external || p->route_reflector_client);
}

/* Routes without an instance are stored by reflectors and between autonomous systems only. */
static void
imported_only_apply(struct apply *apply) RUNS_ON(role_main)
{
	const struct config *c = apply->running;
	struct only_order o = {.on = true};

	for (unsigned i = 0; i < c->peer_count && o.on; i++)
		o.on = !passes_on(&c->peers[i]);
	for (unsigned i = 0; i < c->range_count && o.on; i++)
		o.on = !passes_on(&c->ranges[i].peer);
	if (o.on == apply->instances->imported_only)
		return;
	layers_on_shards(apply->layers, rib_imported_only, &o, &o.shard);
	apply->instances->imported_only = o.on;
	apply->instances->refresh_due |= !o.on;
}

/* Asks the peers for VPN routes that no instance has imported before. */
static void
vpn_refresh(struct apply *apply) RUNS_ON(role_main)
{
	static const enum family families[] = {FAMILY_VPNV4_UNICAST, FAMILY_VPNV6_UNICAST};

	apply->instances->refresh_due = false;
	for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		const struct apply_selector all = {
			.scope = SCOPE_ALL, .family = families[i], .vrf = VRF_DEFAULT};
		json_t *peers = NULL;
		uint32_t job;

		/* -ENOENT without peers of the family; without memory the routes come later */
		if (apply_refresh(apply, &all, true, &peers, &job) == -ENOMEM)
			apply->instances->refresh_due = true;
		json_decref(peers);
	}
}

static const struct policy *
policy_named(const struct config *c, const char *name)
{
	return name != NULL ? policy_set_find(c->policies, name) : NULL;
}

static bool
same_targets(const struct config_targets *a, const struct config_targets *b)
{
	for (unsigned i = 0; i < a->count; i++) {
		unsigned n = 0;

		while (n < b->count && b->at[n].v != a->at[i].v)
			n++;
		if (n == b->count)
			return false;
	}
	return a->count == b->count;
}

static bool
imports(const struct config_vrf *v, struct ext_community target)
{
	unsigned n = 0;

	while (n < v->import_targets.count && v->import_targets.at[n].v != target.v)
		n++;
	return n < v->import_targets.count;
}

/*
 * True if `is` imports a target that no instance imported by `was`, the configuration at the last call: the VPN table has the routes of all other targets,
 * and the walk of the change finds them. An instance whose last call failed has imported nothing.
 */
static bool
imports_more(
	const struct apply_instances *in, const struct config *was, const struct config_vrf *is)
{
	bool more = false;

	for (unsigned i = 0; i < is->import_targets.count && !more; i++) {
		bool had = false;

		for (unsigned k = 0; k < was->vrf_count && !had; k++) {
			const struct instance *one = in->by_id[was->vrfs[k].id.v];

			had = one != NULL && !one->leak_due &&
			      imports(&was->vrfs[k], is->import_targets.at[i]);
		}
		more = !had;
	}
	return more;
}

/* Compares all but the policies. */
static bool
same_values(const struct config_vrf *a, const struct config_vrf *b)
{
	return a->rd.v == b->rd.v && same_targets(&a->import_targets, &b->import_targets) &&
	       same_targets(&a->export_targets, &b->export_targets) &&
	       a->max_routes == b->max_routes && a->max_routes_action == b->max_routes_action;
}

/*
 * Notes the instance as in the running configuration, with its label, for leak_changes_apply().
 * `before`: the configuration at the last call.
 */
static void
leak_change(struct apply *apply, struct instance *i, const struct config *before,
	const struct config_vrf *is)
{
	struct apply_instances *in = apply->instances;
	const struct config_vrf *was = config_vrf_find(before, i->id);
	struct shard_instance set = {.vrf = i->id,
		.rd = is->rd,
		.label = i->label_set ? i->label : RIB_LABEL_NONE,
		.import_targets = is->import_targets.at,
		.export_targets = is->export_targets.at,
		.import_count = is->import_targets.count,
		.export_count = is->export_targets.count,
		.import_policy = policy_named(apply->running, is->import_policy),
		.export_policy = policy_named(apply->running, is->export_policy),
		.max_routes = is->max_routes_action == MAX_ROUTES_DISCARD ? is->max_routes : 0};

	/* without a label nothing can be exported */
	if (!i->label_set)
		set.export_count = 0;
	if (was != NULL && !i->leak_due && same_values(was, is) && i->leak_label == set.label &&
		i->import_policy == set.import_policy && i->export_policy == set.export_policy)
		return;
	in->refresh_due |= in->imported_only && imports_more(in, before, is);
	in->change[in->changes++] = (struct leak_change){.instance = i, .set = set};
}

/* Notes an instance without policies, which are freed with the old configuration, and without targets. */
static void
leak_end(struct apply *apply, struct instance *i)
{
	struct apply_instances *in = apply->instances;

	in->change[in->changes++] = (struct leak_change){
		.instance = i, .set = {.vrf = i->id, .label = RIB_LABEL_NONE}, .removes = true};
}

/*
 * Gives each shard all noted instances in one call: a shard that knew a part of a commit would end
 * imports that the whole commit keeps. Without memory an instance is due again.
 */
static void
leak_changes_apply(struct apply *apply) RUNS_ON(role_main)
{
	struct apply_instances *in = apply->instances;
	struct leak_order o = {.change = in->change, .count = in->changes};

	if (in->changes > 0)
		layers_on_shards(apply->layers, rib_leak, &o, &o.shard);
	for (unsigned k = 0; k < in->changes; k++) {
		const struct leak_change *c = &in->change[k];
		struct instance *i = c->instance;

		i->leak_due = c->result != 0;
		i->leak_label = c->set.label;
		i->import_policy = c->set.import_policy;
		i->export_policy = c->set.export_policy;
		if (i->leak_due)
			log_event(LOG_ERROR, "instance-not-set vrf=%s error=\"%s\"", i->name,
				strerrordesc_np(-c->result));
	}
	in->changes = 0;
}

static bool
leak_ended(struct apply *apply, struct vrf_id id) RUNS_ON(role_main)
{
	struct idle_order o = {.vrf = id, .idle = true};

	layers_on_shards(apply->layers, rib_leak_idle, &o, &o.shard);
	return o.idle;
}

/* ---- labels ---- */

struct label_order {
	struct fib *fib;
	uint32_t label;
	struct label_entry entry;
	int result;
};

static void
fib_label(void *arg) RUNS_ON(role_fib)
{
	struct label_order *o = arg;

	o->result = label_table_set(fib_labels(o->fib), o->label, &o->entry);
}

/*
 * Gives the workers the action for the label of the instance. LABEL_REMOVED stays until another
 * instance gets the label. False: no memory.
 */
static bool
label_write(struct apply *apply, const struct instance *i, enum label_op op) RUNS_ON(role_main)
{
	struct label_order o = {
		.fib = apply->layers->fib, .label = i->label, .entry = {.op = op, .vrf = i->id}};

	if (o.fib != NULL)
		layers_call_fib(apply->layers, fib_label, &o);
	if (o.result != 0)
		log_event(LOG_ERROR, "instance-not-set vrf=%s error=\"%s\"", i->name,
			strerrordesc_np(-o.result));
	return o.result == 0;
}

/* ---- network namespaces: keel-NAME, for an instance with peers or ports ---- */

#define NETNS_PREFIX "keel-"
#define NETNS_NAME_MAX (sizeof(NETNS_PREFIX) + VRF_NAME_MAX)

static void
netns_name(const struct instance *i, char name[static NETNS_NAME_MAX])
{
	snprintf(name, NETNS_NAME_MAX, NETNS_PREFIX "%s", i->name);
}

/* The mark of a namespace of this keeld: the state directory, also after a restart. */
static void
netns_owner(const struct apply *apply, char owner[static NETNS_OWNER_MAX])
{
	char *path = realpath(apply->state_dir, NULL);

	snprintf(owner, NETNS_OWNER_MAX, "keeld %.240s", path != NULL ? path : apply->state_dir);
	free(path);
}

/* Creates or adopts the namespace. 0, -errno. */
static int
netns_open(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	char name[NETNS_NAME_MAX], owner[NETNS_OWNER_MAX];

	if (i->has_netns)
		return 0;
	netns_name(i, name);
	netns_owner(apply, owner);
	i->netns_error = vrf_netns_open(name, owner, &i->netns);
	i->has_netns = i->netns_error == 0;
	return i->netns_error;
}

/* Ends mirror and listener. */
static void
netns_pause(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	struct session_order o = {.kind = SESSION_ORDER_UNLISTEN, .listen = {.vrf = i->id}};

	if (i->netns_runs && apply->layers->session_thread != NULL) {
		(void)session_order(apply->layers, &o);
		apply->unwatch(apply->watch_ctx, i->id);
	}
	i->netns_runs = false;
}

/* Removes the namespace; all interfaces return to the namespace of keeld. */
static void
netns_end(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	char name[NETNS_NAME_MAX];
	unsigned stay;

	if (!i->has_netns)
		return;
	netns_name(i, name);
	netns_pause(apply, i);
	i->has_netns = false;
	stay = vrf_netns_remove(name, &i->netns);
	log_event(LOG_INFO, "namespace-removed vrf=%s name=%s interfaces_left=%u", i->name, name,
		stay);
}

static bool
has_port(const struct apply *apply, struct vrf_id id)
{
	const struct config *c = apply->running;

	for (unsigned i = 0; apply->instances->has_ports && i < c->port_count; i++)
		if (c->ports[i].vrf.v == id.v)
			return true;
	return false;
}

static int
netns_begin(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	struct session_order o = {
		.kind = SESSION_ORDER_LISTEN, .listen = {.vrf = i->id, .netns = &i->netns}};
	int err = netns_open(apply, i);

	if (err != 0)
		return err;
	err = apply->watch(apply->watch_ctx, i->id, &i->netns);
	i->netns_runs = err == 0;
	if (err == 0)
		err = session_order(apply->layers, &o);
	if (err == 0) {
		log_event(
			LOG_INFO, "namespace-up vrf=%s name=" NETNS_PREFIX "%s", i->name, i->name);
		return 0;
	}
	netns_pause(apply, i);
	if (!has_port(apply, i->id)) /* a port stays in the namespace */
		netns_end(apply, i);
	return err;
}

/* Starts the namespace if wanted. False: the namespace is missing. */
static bool
netns_run(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	int before = i->netns_error, err = 0;

	if (i->wants_netns && !i->netns_runs && apply->watch != NULL) {
		err = netns_begin(apply, i);
		if (err != 0 && err != before)
			log_event(LOG_ERROR, "namespace-failed vrf=%s error=\"%s\"", i->name,
				strerrordesc_np(-err));
	}
	i->netns_error = err;
	return err == 0;
}

/* True if the instance has peers or ports. */
static bool
netns_wanted(const struct apply *apply, struct vrf_id id)
{
	const struct config *c = apply->running;
	bool wanted = has_port(apply, id);

	for (unsigned i = 0; !wanted && i < c->peer_count; i++)
		wanted = c->peers[i].vrf.v == id.v;
	for (unsigned i = 0; !wanted && i < c->range_count; i++)
		wanted = c->ranges[i].vrf.v == id.v;
	return wanted;
}

static void
netns_mark_wanted(struct apply *apply) RUNS_ON(role_main)
{
	const struct config *c = apply->running;

	for (unsigned i = 1; i < VRF_IDS_MAX; i++)
		if (apply->instances->by_id[i] != NULL)
			apply->instances->by_id[i]->wants_netns =
				has_port(apply, apply->instances->by_id[i]->id);
	for (unsigned i = 0; i < c->peer_count; i++)
		if (c->peers[i].vrf.v != VRF_DEFAULT.v)
			apply->instances->by_id[c->peers[i].vrf.v]->wants_netns = true;
	for (unsigned i = 0; i < c->range_count; i++)
		if (c->ranges[i].vrf.v != VRF_DEFAULT.v)
			apply->instances->by_id[c->ranges[i].vrf.v]->wants_netns = true;
}

/* ---- life ---- */

/* NULL: in a test without a host. */
static struct vrf_names *
names_of(const struct apply *apply)
{
	return apply->host != NULL ? apply->host->vrf_names : NULL;
}

static struct instance *
instance_new(struct apply *apply, const struct config_vrf *vrf)
{
	struct instance *i = calloc(1, sizeof(*i));

	if (i == NULL)
		return NULL;
	*i = (struct instance){.id = vrf->id};
	strcpy(i->name, vrf->name);
	/* cannot fail: the configuration has a reference */
	if (names_of(apply) != NULL)
		(void)vrf_names_take(names_of(apply), vrf->name, &i->id);
	apply->instances->by_id[i->id.v] = i;
	return i;
}

static void
instance_free(struct apply *apply, struct instance *i)
{
	apply->instances->by_id[i->id.v] = NULL;
	if (names_of(apply) != NULL)
		vrf_names_drop(names_of(apply), i->id);
	free(i);
}

/* A namespace that a killed keeld has left, and that the configuration does not need. */
static void
netns_leftover(void *ctx, const char *name, struct netns *n) RUNS_ON(role_main)
{
	const struct apply *apply = ctx;
	const struct config_vrf *vrf =
		config_vrf_named(apply->running, name + strlen(NETNS_PREFIX));

	if (vrf == NULL || !netns_wanted(apply, vrf->id))
		log_event(LOG_INFO, "namespace-removed vrf=%s name=%s interfaces_left=%u",
			name + strlen(NETNS_PREFIX), name, vrf_netns_remove(name, n));
}

void
apply_netns_begin(struct apply *apply, bool has_ports)
{
	char owner[NETNS_OWNER_MAX];

	apply->instances->has_ports = has_ports;
	netns_owner(apply, owner);
	vrf_netns_each(NETNS_PREFIX, owner, netns_leftover, apply);
}

struct port_move {
	const char *iface;
	const char *netns; /* stays there */
};

static void
give_port(void *ctx, const char *name, struct netns *n) RUNS_ON(role_main)
{
	const struct port_move *m = ctx;

	if (strcmp(name, m->netns) != 0)
		(void)vrf_netns_give(n, m->iface);
}

const struct netns *
apply_netns(const struct apply *apply, struct vrf_id vrf)
{
	const struct instance *i = apply->instances->by_id[vrf.v];

	return i != NULL && i->has_netns ? &i->netns : NULL;
}

int
apply_netns_leave(struct apply *apply, struct vrf_id vrf, const char *iface)
{
	const struct netns *n = apply_netns(apply, vrf);
	int err = n != NULL ? vrf_netns_give(n, iface) : 0;

	return err == -ENODEV ? 0 : err; /* the driver has removed the interface */
}

int
apply_netns_of_port(struct apply *apply, const struct config *config, struct vrf_id vrf,
	const char *iface, const struct netns **out)
{
	const struct config_vrf *c = config_vrf_find(config, vrf);
	struct instance *i = apply->instances->by_id[vrf.v];
	struct port_move m = {.iface = iface, .netns = ""};
	char owner[NETNS_OWNER_MAX], name[NETNS_NAME_MAX];
	int err;

	*out = NULL;
	if (c != NULL && i == NULL)
		i = instance_new(apply, c);
	if (c != NULL && i == NULL)
		return -ENOMEM;
	if (i != NULL) {
		netns_name(i, name);
		m.netns = name;
	}
	/* a killed keeld may have had the port in a different instance */
	netns_owner(apply, owner);
	vrf_netns_each(NETNS_PREFIX, owner, give_port, &m);
	if (i == NULL)
		return 0;
	err = netns_open(apply, i);
	i->port_skipped = err != 0;
	if (err != 0)
		return err;
	*out = &i->netns;
	err = vrf_netns_take(&i->netns, iface);
	return err == -ENODEV ? 0
			      : err; /* the driver makes the interface, or reports its absence */
}

bool
apply_instances_prepare(struct apply *apply, const struct config *next, struct faults *f)
{
	struct vrf_id *ids = calloc(next->vrf_count + 1, sizeof(*ids));
	unsigned count = 0;
	int err = ids != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; err == 0 && i < next->vrf_count; i++) {
		const struct instance *one = apply->instances->by_id[next->vrfs[i].id.v];

		/* a part of the tables of an ending instance may be gone */
		if (one != NULL && one->state == INSTANCE_RUNS)
			continue;
		if (one == NULL && instance_new(apply, &next->vrfs[i]) == NULL)
			err = -ENOMEM;
		else
			err = tables_create(apply, next->vrfs[i].id);
		ids[count++] = next->vrfs[i].id;
	}
	if (err == 0 && count > 0 && apply->layers->fib != NULL) {
		struct fib_tables_order o = {apply->layers->fib, ids, count, 0};

		layers_call_fib(apply->layers, fib_tables, &o);
		err = o.result;
	}
	free(ids);
	if (err != 0)
		faults_add(f, "/vrfs", "the tables of %u instances cannot be made: %s", count,
			strerrordesc_np(-err));
	return err == 0;
}

/* True if no peer of the instance is left, in any thread. */
static bool
peers_gone(const struct apply *apply, struct vrf_id id)
{
	for (unsigned i = 1; i < PEER_MAX; i++) {
		const struct peer_slot *s = &apply->peers->slot[i];

		if ((s->used || s->removing) && s->vrf.v == id.v)
			return false;
	}
	return true;
}

/* Frees the instance. False: peers or routes of the instance are left. */
static bool
instance_end(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	struct session_order groups = {.kind = SESSION_ORDER_GROUPS_GONE};
	struct table_order tables = {.vrf = i->id};

	if (!peers_gone(apply, i->id))
		return false;
	netns_end(apply, i);
	if (!leak_ended(apply, i->id) || !session_order(apply->layers, &groups))
		return false;
	layers_on_shards(apply->layers, rib_tables_remove, &tables, &tables.shard);
	if (tables.result != 0)
		return false;
	labels_release(apply->instances->labels, i->name, now_ns());
	log_event(LOG_INFO, "instance-removed vrf=%s", i->name);
	instance_free(apply, i);
	return true;
}

/* After take_labels(): label and leaking; leak_changes_apply() follows. */
static void
instance_run(struct apply *apply, struct instance *i, const struct config *before)
	RUNS_ON(role_main)
{
	const struct config_vrf *is = config_vrf_find(apply->running, i->id);

	if (i->label != 0 && !i->label_set)
		i->label_set = label_write(apply, i, LABEL_POP_INSTANCE);
	leak_change(apply, i, before, is);
}

/* False: something is missing, and tried again: label, namespace, memory of the shards. */
static bool
instance_whole(struct apply *apply, struct instance *i) RUNS_ON(role_main)
{
	return netns_run(apply, i) && i->label_set && !i->leak_due;
}

/* One write of the file for all instances. An instance without a label is tried again later. */
static void
take_labels(struct apply *apply) RUNS_ON(role_main)
{
	struct apply_instances *in = apply->instances;
	struct instance *due[VRF_IDS_MAX];
	const char *names[VRF_IDS_MAX];
	uint32_t labels[VRF_IDS_MAX];
	unsigned count = 0;

	/* in the order of the document: equal documents get equal labels */
	for (unsigned i = 0; i < apply->running->vrf_count; i++) {
		struct instance *one = in->by_id[apply->running->vrfs[i].id.v];

		if (one == NULL || one->label != 0)
			continue;
		due[count] = one;
		names[count++] = one->name;
	}
	if (count == 0)
		return;
	(void)labels_take(in->labels, names, count, now_ns(), labels);
	for (unsigned i = 0; i < count; i++)
		due[i]->label = labels[i];
}

static void
instances_fire(struct timer *t) RUNS_ON(role_main)
{
	struct apply_instances *in =
		(struct apply_instances *)(void *)((char *)t -
						   offsetof(struct apply_instances, timer));
	uint64_t wait_ns = UINT64_MAX;

	apply_changes_finish(in->apply);
	if (in->refresh_due)
		vpn_refresh(in->apply);
	take_labels(in->apply);
	for (unsigned i = 1; i < VRF_IDS_MAX; i++)
		if (in->by_id[i] != NULL && in->by_id[i]->state == INSTANCE_RUNS)
			instance_run(in->apply, in->by_id[i], in->apply->running);
	leak_changes_apply(in->apply);
	for (unsigned i = 1; i < VRF_IDS_MAX; i++) {
		struct instance *one = in->by_id[i];

		if (one == NULL)
			continue;
		if (one->state == INSTANCE_RUNS) {
			if (one->has_netns && !one->wants_netns) {
				if (peers_gone(in->apply, one->id))
					netns_end(in->apply, one);
				else
					wait_ns = END_POLL_NS;
			}
			if (!instance_whole(in->apply, one) && wait_ns > RETRY_NS)
				wait_ns = RETRY_NS;
		} else if (!instance_end(in->apply, one)) {
			wait_ns = END_POLL_NS;
		}
	}
	if (in->refresh_due && wait_ns > RETRY_NS)
		wait_ns = RETRY_NS;
	labels_store(in->labels);
	if (wait_ns != UINT64_MAX)
		(void)timer_arm(in->apply->layers->main_thread, t, wait_ns);
}

/* The targets that instances import, for rt-constraint (RFC 4684). */
static void
targets_apply(struct apply *apply) RUNS_ON(role_main)
{
	const struct config *c = apply->running;
	struct session_order o = {.kind = SESSION_ORDER_TARGETS};
	uint64_t *at;
	unsigned count = 0;

	for (unsigned i = 0; i < c->vrf_count; i++)
		count += c->vrfs[i].import_targets.count;
	at = calloc(count + 1, sizeof(*at));
	o.targets.at = at;
	for (unsigned i = 0; at != NULL && i < c->vrf_count; i++)
		for (unsigned t = 0; t < c->vrfs[i].import_targets.count; t++)
			at[o.targets.count++] = c->vrfs[i].import_targets.at[t].v;
	if (at == NULL || session_order(apply->layers, &o) < 0)
		log_event(LOG_ERROR, "targets-not-sent error=\"%s\"", strerrordesc_np(ENOMEM));
	free(at);
}

void
apply_instances_switch(struct apply *apply)
{
	struct apply_instances *in = apply->instances;
	const struct config *was = in->applied != NULL ? in->applied : apply->running;
	bool waits = false;

	netns_mark_wanted(apply);
	take_labels(apply);
	imported_only_apply(apply);
	for (unsigned i = 1; i < VRF_IDS_MAX; i++) {
		struct instance *one = in->by_id[i];

		if (one == NULL)
			continue;
		if (config_vrf_find(apply->running, one->id) == NULL) {
			if (one->state == INSTANCE_RUNS)
				leak_end(apply, one);
			if (one->label_set)
				(void)label_write(apply, one, LABEL_REMOVED);
			one->label_set = false;
			one->state = INSTANCE_ENDS;
			waits = true;
			continue;
		}
		if (one->state != INSTANCE_RUNS) {
			log_event(LOG_INFO, "instance-added vrf=%s", one->name);
			one->state = INSTANCE_RUNS;
			one->leak_due = true;
		}
		instance_run(apply, one, was);
	}
	leak_changes_apply(apply);
	for (unsigned i = 1; i < VRF_IDS_MAX; i++) {
		struct instance *one = in->by_id[i];

		if (one == NULL || one->state != INSTANCE_RUNS)
			continue;
		waits |= !instance_whole(apply, one);
		waits |= one->has_netns && !one->wants_netns;
	}
	targets_apply(apply);
	in->applied = apply->running;
	if (waits || in->refresh_due)
		(void)timer_arm(apply->layers->main_thread, &in->timer, 0);
}

/* ---- effects ---- */

static bool
same_policy(const struct config *old, const struct config *next, const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0 && policy_set_same(old->policies, next->policies, a);
}

static void
effect_add(json_t *effects, const char *name, const char *effect)
{
	json_array_append_new(effects, json_pack("{s:n, s:s, s:n, s:n, s:s}", "address", "vrf",
					       name, "family", "direction", "effect", effect));
}

void
apply_instances_effects(const struct config *old, const struct config *next, json_t *effects)
{
	for (unsigned i = 0; i < next->vrf_count; i++) {
		const struct config_vrf *is = &next->vrfs[i],
					*was = config_vrf_named(old, is->name);

		if (was == NULL)
			effect_add(effects, is->name, "instance-added");
		else if (!same_values(was, is) ||
			 !same_policy(old, next, was->import_policy, is->import_policy) ||
			 !same_policy(old, next, was->export_policy, is->export_policy))
			effect_add(effects, is->name, "instance-changed");
	}
	for (unsigned i = 0; i < old->vrf_count; i++)
		if (config_vrf_named(next, old->vrfs[i].name) == NULL)
			effect_add(effects, old->vrfs[i].name, "instance-removed");
}

/* ---- create, start, destroy ---- */

int
apply_instances_create(struct apply *apply)
{
	struct apply_instances *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return -ENOMEM;
	in->apply = apply;
	in->timer.fire = instances_fire;
	apply->instances = in;
	return 0;
}

static void
labels_written(void *ctx) RUNS_ON(role_main)
{
	struct apply *apply = ctx;

	(void)timer_arm_sooner(apply->layers->main_thread, &apply->instances->timer, 0);
}

int
apply_instances_start(struct apply *apply)
{
	struct labels_config c = LABELS_CONFIG(apply->state_dir, apply->disk);
	struct faults f = {0};
	int err;

	c.written = labels_written;
	c.ctx = apply;
	err = labels_open(&c, now_ns(), &apply->instances->labels);

	if (err != 0)
		return err;
	if (!apply_instances_prepare(apply, apply->running, &f)) {
		log_event(LOG_ERROR, "instances-not-started error=\"%s\"",
			f.count > 0 ? f.fault[0].reason : "out of memory");
		err = -ENOMEM;
	}
	faults_fini(&f);
	if (err == 0)
		apply_instances_switch(apply);
	labels_release_unused(apply->instances->labels, now_ns());
	return err;
}

void
apply_instances_destroy(struct apply *apply, bool keep)
{
	if (apply->instances == NULL)
		return;
	for (unsigned i = 1; i < VRF_IDS_MAX; i++)
		if (apply->instances->by_id[i] != NULL) {
			struct instance *one = apply->instances->by_id[i];

			if (one->has_netns && keep && has_port(apply, one->id))
				vrf_netns_close(&one->netns);
			else
				netns_end(apply, one);
			instance_free(apply, one);
		}
	timer_cancel(apply->layers->main_thread, &apply->instances->timer);
	labels_close(apply->instances->labels);
	free(apply->instances);
}

uint32_t
apply_instance_label(const struct apply *apply, struct vrf_id id)
{
	const struct instance *i = id.v < VRF_IDS_MAX ? apply->instances->by_id[id.v] : NULL;

	return i != NULL ? i->label : 0;
}

bool
apply_instances_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	static_assert(APPLY_ALARM_MAX >= LABELS_ALARM_MAX, "room for the text");
	return apply->instances->labels != NULL && labels_alarm(apply->instances->labels, text);
}

bool
apply_netns_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
{
	for (unsigned id = 1; id < VRF_IDS_MAX; id++) {
		const struct instance *i = apply->instances->by_id[id];

		if (i == NULL || i->netns_error == 0)
			continue;
		if (i->netns_error == -EEXIST)
			snprintf(text, APPLY_ALARM_MAX,
				"the network namespace " NETNS_PREFIX
				"%s was not created by this keeld; delete the namespace, or rename "
				"the instance",
				i->name);
		else if (i->netns_error == -EPERM)
			snprintf(text, APPLY_ALARM_MAX,
				"keeld has no right to enter the network namespace " NETNS_PREFIX
				"%s: the units need the drop-in instances.conf; started as root, "
				"restart keeld",
				i->name);
		else
			snprintf(text, APPLY_ALARM_MAX,
				"the network namespace " NETNS_PREFIX "%s cannot be created: %s",
				i->name, strerrordesc_np(-i->netns_error));
		return true;
	}
	for (unsigned id = 1; id < VRF_IDS_MAX; id++) {
		const struct instance *i = apply->instances->by_id[id];

		if (i == NULL || !i->port_skipped || !has_port(apply, i->id))
			continue;
		snprintf(text, APPLY_ALARM_MAX,
			"the ports of the instance %s do not run yet: their network namespace was "
			"missing; keeld tries again within a minute",
			i->name);
		return true;
	}
	return false;
}

const char *
apply_vrf_name(const struct apply *apply, struct vrf_id id)
{
	const struct vrf_names *names = names_of(apply);
	const char *name = names != NULL ? vrf_names_text(names, id) : NULL;

	return name != NULL ? name : id.v == VRF_DEFAULT.v ? "default" : "?";
}
