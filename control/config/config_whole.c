/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults between two places of a document. Called for documents without faults at a single place. */
#include "control/config/config_impl.h"

#include "control/config/policy_compile.h"
#include "rib/table/dest.h"
#include "rib/policy/policy.h"

#include <stdio.h>

#define PATH_SIZE 64

/* Without a data plane, only an explicit `worker_cpus` names workers. */
static bool
has_workers(const struct config_host *host, const struct config *config)
{
	const json_t *section = json_object_get(config->document, "dataplane");

	return host == NULL || !host->no_dataplane ||
	       json_object_get(section, "worker_cpus") != NULL;
}

static void
check_cpus(const struct config_host *host, const struct config *config, struct faults *f)
{
	char path[PATH_SIZE];

	if (!has_workers(host, config))
		return;
	for (unsigned i = 0; i < config->dataplane.control_count; i++) {
		for (unsigned k = 0; k < config->dataplane.worker_count; k++) {
			if (config->dataplane.control_cpus[i] != config->dataplane.worker_cpus[k])
				continue;
			snprintf(path, sizeof(path), "/dataplane/control_cpus/%u", i);
			faults_add(f, path,
				"CPU %u is one of `worker_cpus`; a worker needs a CPU of its own",
				config->dataplane.control_cpus[i]);
		}
	}
}

static void
check_queue_workers(const struct config *config, unsigned i, struct faults *f)
{
	const struct config_port *p = &config->ports[i];
	char path[PATH_SIZE];

	for (unsigned k = 0; k < p->queue_worker_count; k++) {
		if (p->queue_workers[k] < config->dataplane.worker_count)
			continue;
		snprintf(path, sizeof(path), "/ports/%u/queue_workers/%u", i, k);
		faults_add(f, path, "there is no worker %u: /dataplane/worker_cpus has %u entries",
			p->queue_workers[k], config->dataplane.worker_count);
	}
}

static void
check_parent(const struct config *config, unsigned i, struct faults *f)
{
	const struct config_port *p = &config->ports[i], *on = NULL;
	char path[PATH_SIZE];

	if (p->parent == NULL)
		return;
	for (unsigned k = 0; k < config->port_count && on == NULL; k++)
		if (strcmp(config->ports[k].name, p->parent) == 0)
			on = &config->ports[k];
	snprintf(path, sizeof(path), "/ports/%u/parent", i);
	if (on == NULL)
		faults_add(f, path, "there is no port \"%s\"", p->parent);
	else if (on->parent != NULL)
		faults_add(f, path,
			"\"%s\" is on a VLAN itself; write its parent, and both tags into `vlan`",
			p->parent);
	if (on == NULL || p->mtu == 0 || on->mtu == 0 || p->mtu <= on->mtu)
		return;
	snprintf(path, sizeof(path), "/ports/%u/mtu", i);
	faults_add(f, path, "%u is above %u, the MTU of the parent \"%s\"", p->mtu, on->mtu,
		p->parent);
}

/* The place in the document that makes the peer's address an address of this router. False: no place. */
static bool
own_address(const struct config *config, const struct config_peer *p, char place[static PATH_SIZE])
{
	for (unsigned i = 0; i < config->port_count; i++) {
		const struct config_port *port = &config->ports[i];

		for (unsigned k = 0; port->vrf.v == p->vrf.v && k < port->address_count; k++) {
			if (!addr_equal(&port->addresses[k].addr, &p->addr))
				continue;
			snprintf(place, PATH_SIZE, "/ports/%u/addresses/%u", i, k);
			return true;
		}
	}
	for (unsigned i = 0; p->vrf.v == VRF_DEFAULT.v && i < config->loopback_count; i++) {
		if (!addr_equal(&config->loopbacks[i].addr, &p->addr))
			continue;
		snprintf(place, PATH_SIZE, "the router's loopback addresses");
		return true;
	}
	if (p->source.afi == AFI_NONE || !addr_equal(&p->source, &p->addr))
		return false;
	snprintf(place, PATH_SIZE, "the peer's `source`");
	return true;
}

static void
check_peer(const struct config *config, unsigned i, struct faults *f)
{
	const struct config_peer *p = &config->peers[i];
	char path[PATH_SIZE], place[PATH_SIZE];

	if (p->gtsm && p->multihop != 0) {
		snprintf(path, sizeof(path), "/bgp/peers/%u/gtsm", i);
		faults_add(f, path, "only valid without `multihop` (%u)", p->multihop);
	}
	if (own_address(config, p, place)) {
		snprintf(path, sizeof(path), "/bgp/peers/%u/address", i);
		faults_add(f, path, "\"%s\" is an address of this router: %s", p->addr_text, place);
	}
}

static void
check_range(const struct config *config, unsigned i, struct faults *f)
{
	const struct config_range *r = &config->ranges[i];
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/bgp/listen_ranges/%u/group", i);
	if (r->peer.gtsm && r->peer.multihop != 0)
		faults_add(f, path,
			"\"%s\" has both `gtsm` and `multihop`; only one of them is valid",
			r->group);
}

/*
 * The kernel takes the key of the longest prefix with a password (RFC 2385), and knows no address without one. So a range with a password refuses
 * connections of each peer, and of each longer range, that has none.
 */
static void
check_password(const struct config *config, struct vrf_id vrf, const struct prefix *from,
	const char *path, const char *what, struct faults *f)
{
	for (unsigned i = 0; i < config->range_count; i++) {
		const struct config_range *r = &config->ranges[i];
		char text[PREFIX_TEXT_MAX];

		if (r->peer.password == NULL || r->vrf.v != vrf.v ||
			!prefix_covers(&r->prefix, from))
			continue;
		faults_add(f, path,
			"the %s has no `password`, and lies in the listen range %s, whose "
			"password the kernel demands of all its addresses; give the %s a password",
			what, prefix_format(&r->prefix, text), what);
		return;
	}
}

static void
check_passwords(const struct config *config, struct faults *f)
{
	char path[PATH_SIZE];

	for (unsigned i = 0; i < config->peer_count; i++) {
		const struct config_peer *p = &config->peers[i];
		struct prefix from =
			prefix_from_addr(&p->addr, prefix_max_len((enum afi)p->addr.afi));

		snprintf(path, sizeof(path), "/bgp/peers/%u/password", i);
		if (p->password == NULL)
			check_password(config, p->vrf, &from, path, "peer", f);
	}
	for (unsigned i = 0; i < config->range_count; i++) {
		const struct config_range *r = &config->ranges[i];

		snprintf(path, sizeof(path), "/bgp/listen_ranges/%u/group", i);
		if (r->peer.password == NULL)
			check_password(config, r->vrf, &r->prefix, path, "range", f);
	}
}

enum policy_use { USE_PEER_IMPORT, USE_PEER_EXPORT, USE_OTHER };

/* VRPs are known in the import from peers; `peer` and `self` have a meaning in one direction. */
static void
check_policy_use(const struct config *config, const char *name, enum policy_use use,
	const char *path, struct faults *f)
{
	const struct policy *p = name != NULL ? policy_set_find(config->policies, name) : NULL;

	if (p == NULL)
		return;
	if (use != USE_PEER_IMPORT && policy_validates(p))
		faults_add(f, path,
			"policy \"%s\" matches `validation`, which works only in import policies "
			"of "
			"peers",
			name);
	if (use != USE_PEER_IMPORT && policy_sets_next_hop(p, NEXT_HOP_PEER))
		faults_add(f, path,
			"policy \"%s\" sets the next hop `peer`, which works only in import "
			"policies "
			"of peers",
			name);
	if (use != USE_PEER_EXPORT && policy_sets_next_hop(p, NEXT_HOP_SELF))
		faults_add(f, path,
			"policy \"%s\" sets the next hop `self`, which works only in export "
			"policies "
			"of peers",
			name);
}

static void
check_family_policies(const struct config *config, const struct config_family *family,
	const char *import, const char *export, struct faults *f)
{
	check_policy_use(config, family->import_policy, USE_PEER_IMPORT, import, f);
	check_policy_use(config, family->export_policy, USE_PEER_EXPORT, export, f);
}

static void
check_policies(const struct config *config, struct faults *f)
{
	char path[2 * PATH_SIZE], export[2 * PATH_SIZE];

	for (unsigned i = 0; i < config->peer_count; i++) {
		for (unsigned k = 0; k < FAMILY_COUNT; k++) {
			snprintf(path, sizeof(path), "/bgp/peers/%u/families/%s/import_policy", i,
				family_text((enum family)k));
			snprintf(export, sizeof(export), "/bgp/peers/%u/families/%s/export_policy",
				i, family_text((enum family)k));
			check_family_policies(
				config, &config->peers[i].families[k], path, export, f);
		}
	}
	for (unsigned i = 0; i < config->range_count; i++) {
		snprintf(path, sizeof(path), "/bgp/listen_ranges/%u/group", i);
		for (unsigned k = 0; k < FAMILY_COUNT; k++)
			check_family_policies(
				config, &config->ranges[i].peer.families[k], path, path, f);
	}
	for (unsigned i = 0; i < config->vrf_count; i++) {
		snprintf(path, sizeof(path), "/vrfs/%u/import_policy", i);
		check_policy_use(config, config->vrfs[i].import_policy, USE_OTHER, path, f);
		snprintf(path, sizeof(path), "/vrfs/%u/export_policy", i);
		check_policy_use(config, config->vrfs[i].export_policy, USE_OTHER, path, f);
	}
	for (unsigned i = 0; i < config->redistribute_count; i++) {
		snprintf(path, sizeof(path), "/bgp/redistribute/%u/policy", i);
		check_policy_use(config, config->redistribute[i].policy, USE_OTHER, path, f);
	}
}

void
config_check_whole(const struct config_host *host, const struct config *config, struct faults *f)
{
	check_cpus(host, config, f);
	for (unsigned i = 0; i < config->peer_count; i++)
		check_peer(config, i, f);
	for (unsigned i = 0; i < config->port_count; i++) {
		check_queue_workers(config, i, f);
		check_parent(config, i, f);
	}
	for (unsigned i = 0; i < config->range_count; i++)
		check_range(config, i, f);
	check_passwords(config, f);
	check_policies(config, f);
	if (config->peer_count > PEER_MAX - 1)
		faults_add(f, "/bgp/peers", "%u peers are configured; at most %u are supported",
			config->peer_count, PEER_MAX - 1);
}
