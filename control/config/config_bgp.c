/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The section `bgp`: peers and groups by the keys of config_peer.c, ranges, networks. A peer is checked three times: the group alone and the
 * peer alone for faults, whose pointers then lead to the right place; and group and peer merged, muted, for the values.
 */
#include "control/config/config_impl.h"
#include "lpm/path_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- peers and groups ---- */

static void
take_groups(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (config_take_each(c, at, value, config_take_group, out))
		config_check_unique(c, at, value, "name");
}

/*
 * Merges `over` into `under`, key by key (RFC 7396 without nulls). A new object; NULL when out of memory. Recursion is bounded by the depth of
 * a document, 64 levels.
 */
static json_t *
inherit(const json_t *under, const json_t *over)
{
	json_t *merged = json_object();
	const char *name;
	json_t *value;

	json_object_update(merged, (json_t *)(uintptr_t)under);
	json_object_foreach((json_t *)(uintptr_t)over, name, value)
	{
		json_t *base = json_object_get(under, name);
		if (json_is_object(base) && json_is_object(value))
			json_object_set_new(merged, name, inherit(base, value));
		else
			json_object_set(merged, name, value);
	}
	return merged;
}

/* The local address has the family of the peer's address and, for a link-local address, the link of the peer. */
static void
check_source(struct check *c, const struct at *at, const struct config_peer *p)
{
	struct at source_at = AT_KEY(at, "source"), multihop_at = AT_KEY(at, "multihop");
	char text[ADDR_TEXT_MAX];

	if (p->addr.zone && p->multihop)
		config_fault(c, &multihop_at,
			"not valid for a link-local address, which is always on the link");
	if (p->source.afi == AFI_NONE)
		return;
	addr_format(&p->source, text);
	if (p->source.afi != p->addr.afi)
		config_fault(
			c, &source_at, "\"%s\" is not of the family of the peer's address", text);
	else if (p->source.zone != p->addr.zone && p->source.zone)
		config_fault(
			c, &source_at, "\"%s\" is on another link than the peer's address", text);
}

/* Keys that are valid for one kind of session only. */
static void
check_kind(struct check *c, const struct at *at, const struct config_peer *p)
{
	struct at client_at = AT_KEY(at, "route_reflector_client"), role_at = AT_KEY(at, "role"),
		  local_as_at = AT_KEY(at, "local_as"), families_at = AT_KEY(at, "families"),
		  rs_at = AT_KEY(at, "route_server_client");

	if (!p->external && p->route_server_client)
		config_fault(c, &rs_at, "only valid for an external peer (RFC 7947)");
	if (p->external && p->route_reflector_client)
		config_fault(c, &client_at, "only valid for an internal peer (RFC 4456)");
	if (!p->external && p->role != ROLE_NONE)
		config_fault(c, &role_at, "only valid for an external peer (RFC 9234)");
	if (!p->external && p->local_as != c->config->asn)
		config_fault(c, &local_as_at, "only valid for an external peer");
	if (p->external && p->local_as == p->asn)
		config_fault(c, &local_as_at,
			"%u is the AS number of the peer; `local_as` must differ", p->asn);
	for (unsigned f = 0; !p->external && f < FAMILY_COUNT; f++) {
		struct at family_at = AT_KEY(&families_at, family_text((enum family)f));
		struct at remove_at = AT_KEY(&family_at, "remove_private_as"),
			  override_at = AT_KEY(&family_at, "as_override");
		if (p->families[f].remove_private_as)
			config_fault(c, &remove_at, "only valid for an external peer");
		if (p->families[f].as_override)
			config_fault(c, &override_at, "only valid for an external peer");
	}
}

/* Keys and places that a VPN family cannot have. */
static void
check_vpn_families(struct check *c, const struct at *families_at, const struct config_peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		struct at family_at = AT_KEY(families_at, family_text(f));
		struct at originate_at = AT_KEY(&family_at, "default_originate");

		if (family_safi(f) != SAFI_VPN || !p->families[f].enabled)
			continue;
		/* RFC 4364 4.2: routes of an instance get their distinguisher and label on the way to `default` */
		if (p->vrf.v != VRF_DEFAULT.v)
			config_fault(c, &family_at, "only valid in the VRF \"default\"");
		if (p->families[f].default_originate)
			config_fault(c, &originate_at,
				"not valid in a VPN family: a VPN route needs a route "
				"distinguisher and a label");
	}
	if (p->rt_constraint && !p->families[FAMILY_VPNV4_UNICAST].enabled &&
		!p->families[FAMILY_VPNV6_UNICAST].enabled) {
		struct at rt_at = AT_KEY(families_at, "rt-constraint");

		config_fault(c, &rt_at, "only valid beside \"vpnv4-unicast\" or \"vpnv6-unicast\"");
	}
}

static void
check_blackhole(struct check *c, const struct at *families_at, const struct config_peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		const struct config_blackhole *b = &p->families[f].blackhole;
		struct at family_at = AT_KEY(families_at, family_text(f));
		struct at blackhole_at = AT_KEY(&family_at, "blackhole"),
			  length_at = AT_KEY(&blackhole_at, "min_length");

		if (b->prefix_list == NULL)
			continue;
		if (!p->external)
			config_fault(c, &blackhole_at, "only valid for an external peer");
		else if (family_safi(f) != SAFI_UNICAST)
			config_fault(c, &blackhole_at, "only valid in a unicast family");
		else if (b->min_length > prefix_max_len(family_afi(f)))
			config_fault(c, &length_at, "%u is longer than an address (%u)",
				b->min_length, prefix_max_len(family_afi(f)));
	}
}

/* Checks of a peer after the merge with its group. */
static void
check_merged_peer(
	struct check *c, const struct at *at, const struct config_peer *p, const json_t *merged)
{
	struct at asn_at = AT_KEY(at, "asn"), families_at = AT_KEY(at, "families"),
		  timers_at = AT_KEY(at, "timers");
	struct at keepalive_at = AT_KEY(&timers_at, "keepalive_s");

	if (!json_object_get(merged, "asn") &&
		!p->dynamic) /* a dynamic peer: the OPEN says the number */
		config_fault(c, &asn_at, "is missing in the peer and in its group");
	if (p->timers.hold_s && p->timers.keepalive_s >= p->timers.hold_s)
		config_fault(c, &keepalive_at, "%u is not less than `hold_s` (%u)",
			p->timers.keepalive_s, p->timers.hold_s);
	check_source(c, at, p);
	check_kind(c, at, p);
	check_vpn_families(c, &families_at, p);
	check_blackhole(c, &families_at, p);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct at family_at = AT_KEY(&families_at, family_text((enum family)f));
		if (p->families[f].next_hop_self && p->families[f].next_hop_unchanged)
			config_fault(c, &family_at,
				"only one of `next_hop_self` and `next_hop_unchanged` can be true");
	}
}

/* Without `families` in the peer and its group: the unicast family of the peer's address. */
static void
default_family(struct config_peer *p, const json_t *merged)
{
	if (!json_object_get(merged, "families") && p->addr.afi != AFI_NONE)
		p->families[p->addr.afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST]
			.enabled = true;
}

/* Values that follow from the keys of the router. */
static void
finish_peer(const struct config *config, struct config_peer *p)
{
	if (p->local_as == 0)
		p->local_as = config->asn;
	p->external = p->asn != config->asn;
}

/* The first peer with the VRF and the address of `p`; `p` when no earlier peer has both. */
static const struct config_peer *
first_of_address(struct config *config, const struct config_peer *p)
{
	for (uint32_t i = (uint32_t)addr_hash(&p->addr, p->vrf.v);; i++) {
		uint32_t *at = &config->peer_index[i & config->peer_index_mask];
		const struct config_peer *other;

		if (*at == 0) {
			*at = (uint32_t)(p - config->peers) + 1;
			return p;
		}
		other = &config->peers[*at - 1];
		if (other->vrf.v == p->vrf.v && addr_equal(&other->addr, &p->addr))
			return other;
	}
}

static void
check_same_peer(
	struct check *c, const struct at *at, struct config *config, const struct config_peer *p)
{
	const struct config_peer *other = p->addr.afi != AFI_NONE ? first_of_address(config, p) : p;
	struct at here = AT_KEY(at, "address");

	if (other != p)
		config_fault(c, &here,
			other->tcp_port == p->tcp_port
				? "\"%s\" is the same peer as /bgp/peers/%td"
				: "\"%s\" is the peer /bgp/peers/%td on another port, "
				  "which is not supported in this version",
			p->addr_text, other - config->peers);
}

static void
take_peer(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_peer *peer = &config->peers[config->peer_count];
	struct config_peer scratch = config_peer_defaults();
	unsigned faults = c->f->count;

	config_take_peer(c, at, value, &scratch);
	const char *group_name = json_string_value(json_object_get(value, "group"));
	const json_t *group = group_name ? config_find_group(c, group_name) : NULL;
	json_t *merged;

	if (json_is_object(group)) {
		merged = inherit(group, value);
		json_object_del(merged, "name");
	} else {
		merged = json_is_object(value) ? json_incref((json_t *)(uintptr_t)value)
					       : json_object();
	}
	if (json_array_append_new(config->merged, merged)) {
		config_fault(c, at, "out of memory");
		return;
	}
	*peer = config_peer_defaults();
	c->muted = true;
	config_take_peer(c, at, merged, peer);
	c->muted = false;
	if (peer->vrf.v != VRF_DEFAULT.v)
		peer->vrf_name = json_string_value(json_object_get(merged, "vrf"));
	default_family(peer, merged);
	config->peer_count++;
	finish_peer(config, peer);
	if (c->f->count == faults)
		check_merged_peer(c, at, peer, merged);
	check_same_peer(c, at, config, peer);
}

static void
take_peers(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	uint32_t places = 2;

	(void)key;
	while (places < 2 * json_array_size(value))
		places *= 2;
	config->peers = calloc(json_array_size(value) + 1, sizeof(*config->peers));
	config->merged = json_array();
	config->peer_index = calloc(places, sizeof(*config->peer_index));
	config->peer_index_mask = places - 1;
	if (!config->peers || !config->merged || !config->peer_index)
		config_fault(c, at, "out of memory");
	else
		config_take_each(c, at, value, take_peer, config);
}

static void
take_prefix(CONFIG_TAKE_ARGS)
{
	struct prefix p;

	(void)key;
	if (config_value_prefix(c, at, value, &p))
		*(struct prefix *)out = p;
}

/* ---- listen_ranges ---- */

/*
 * Dynamic peers: a peer that connects from an address in `prefix` gets a passive session with the
 * keys of `group`. Where ranges overlap, the longest prefix decides.
 */
static const struct config_key range_keys[] = {
	/* Addresses that may connect. */
	{"prefix", take_prefix, offsetof(struct config_range, prefix), 0, 0, true, EFFECT(COMMIT)},
	/* Group whose keys the dynamic peers get. */
	{"group", config_take_group_name, offsetof(struct config_range, group), 0, 0, true,
		EFFECT(COMMIT)},
	/*
	 * AS number that the dynamic peers must have. Default: the AS number of the group; without
	 * one, any AS number is accepted.
	 */
	{"asn", config_take_asn, offsetof(struct config_range, asn), EFFECT(COMMIT)},
	/* VPN instance of the sessions. Default: default. */
	{"vrf", config_take_vrf, offsetof(struct config_range, vrf), EFFECT(COMMIT)},
};

/* The keys of the group, as for a peer without keys but `asn`. Strings are lent from the document. */
static void
range_template(struct check *c, const struct at *at, const json_t *value, struct config_range *r)
{
	json_t *own = json_object(), *merged;
	unsigned faults = c->f->count;
	struct config_peer *p = &r->peer;

	if (r->asn)
		json_object_set(own, "asn", json_object_get(value, "asn"));
	merged = inherit(config_find_group(c, r->group), own);
	json_object_del(merged, "name");
	*p = config_peer_defaults();
	c->muted = true;
	config_take_peer(c, at, merged, p);
	c->muted = false;
	p->group = r->group;
	p->vrf = r->vrf;
	if (r->vrf.v != VRF_DEFAULT.v)
		p->vrf_name = json_string_value(json_object_get(value, "vrf"));
	p->passive = p->dynamic = true;
	memcpy(p->addr.b, r->prefix.b, sizeof(p->addr.b));
	p->addr.afi = r->prefix.afi;
	default_family(p, merged);
	finish_peer(c->config, p);
	if (c->f->count == faults)
		check_merged_peer(c, at, p, merged);
	json_decref(merged);
	json_decref(own);
}

static void
take_range(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_range *r = &config->ranges[config->range_count];
	unsigned faults = c->f->count;

	r->vrf = VRF_DEFAULT;
	if (!CONFIG_TAKE(c, at, value, range_keys, r) || c->f->count != faults)
		return;
	range_template(c, at, value, r);
	config->range_count++;
}

static void
take_ranges(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->ranges = calloc(json_array_size(value) + 1, sizeof(*config->ranges));
	if (!config->ranges)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_range, config))
		config_check_unique_prefixes(c, at, value);
}

/*
 * A prefix that this router originates, with ORIGIN IGP. The prefix needs no route in the
 * table, and has no entry in the forwarding tables.
 */
static const struct config_key network_keys[] = {
	/* The prefix. */
	{"prefix", take_prefix, offsetof(struct config_network, prefix), 0, 0, true,
		EFFECT(COMMIT)},
	/* VPN instance of the prefix. Default: default. */
	{"vrf", config_take_vrf, offsetof(struct config_network, vrf), EFFECT(COMMIT)},
	/* Originates the prefix only while the table has a route to it. */
	{"require_route", config_take_unsupported},
};

static void
take_network(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;

	CONFIG_TAKE(c, at, value, network_keys, &config->networks[config->network_count++]);
}

static void
take_networks(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->networks = calloc(json_array_size(value) + 1, sizeof(*config->networks));
	if (!config->networks)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_network, config))
		config_check_unique_prefixes(c, at, value);
}

/* Dotted, as operators write it, or a number; RFC 4456 8: four octets, not zero. */
static void
take_cluster_id(CONFIG_TAKE_ARGS)
{
	struct ip_addr addr;
	uint32_t n;

	(void)key;
	if (json_is_integer(value)) {
		if (config_value_u32(c, at, value, 1, UINT32_MAX, &n))
			*(uint32_t *)out = n;
	} else if (!json_is_string(value) || addr_parse(json_string_value(value), &addr) ||
		   addr.afi != AFI_IPV4 || addr_v4(&addr) == 0) {
		config_fault_type(c, at, value, "a cluster id, as 192.0.2.1 or 1");
	} else {
		*(uint32_t *)out = addr_v4(&addr);
	}
}

static void
take_redistribute_source(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {"connected", "static", "kernel", NULL};
	static const enum route_source sources[] = {SOURCE_CONNECTED, SOURCE_STATIC, SOURCE_KERNEL};
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(enum route_source *)out = sources[word];
}

/*
 * Originates routes of another source in BGP, with ORIGIN INCOMPLETE. A route is withdrawn when
 * its source withdraws the route or the route is down.
 */
static const struct config_key redistribute_keys[] = {
	/* The source. */
	{"source", take_redistribute_source, offsetof(struct config_redistribute, source), 0, 0,
		true, EFFECT(COMMIT)},
	/* VPN instance of the routes. Default: default. */
	{"vrf", config_take_vrf, offsetof(struct config_redistribute, vrf), EFFECT(COMMIT)},
	/*
	 * Route policy for the routes; see keel-policy(7). Default: all routes of the source
	 * are originated.
	 */
	{"policy", config_take_policy_name, offsetof(struct config_redistribute, policy),
		EFFECT(COMMIT)},
};

static void
take_redistribute_one(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;

	CONFIG_TAKE(c, at, value, redistribute_keys,
		&config->redistribute[config->redistribute_count++]);
}

static void
take_redistribute(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->redistribute = calloc(json_array_size(value) + 1, sizeof(*config->redistribute));
	if (!config->redistribute)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_redistribute_one, config))
		config_check_unique_in_vrf(c, at, value, "source");
}

/* BGP: what is originated, and the peers. */
static const struct config_key bgp_keys[] = {
	/* Prefixes that this router originates. */
	{"networks", take_networks},
	/*
	 * Time between a committed policy change and the refresh that applies the change; 0: at
	 * once. A later change restarts the delay. A `refresh` command applies a waiting change
	 * at once. Unit: seconds.
	 */
	{"policy_change_delay_s", config_take_u32, offsetof(struct config, policy_change_delay_s),
		0, 86400, EFFECT(COMMIT)},
	/*
	 * Longest time by which later changes can extend the delay. Unit: seconds.
	 */
	{"policy_change_max_delay_s", config_take_u32,
		offsetof(struct config, policy_change_max_delay_s), 0, 86400, .def = 30,
		EFFECT(COMMIT)},
	/*
	 * Longest time for which a path that a commit rejects stays in use while the destination has no second path and the commit is not
	 * complete for all peers. 0: rejected paths are removed at once. Unit: seconds.
	 */
	{"commit_hold_s", config_take_u32, offsetof(struct config, commit_hold_s), 0, 3600,
		.def = 30, EFFECT(COMMIT)},
	/* Groups of peers. */
	{"groups", take_groups},
	/* Peers. */
	{"peers", take_peers},
	/*
	 * Checks whether next hops are reachable. `false` treats every next hop as reachable.
	 */
	{"next_hop_tracking", config_take_bool, offsetof(struct config, next_hop_tracking),
		.def = true, EFFECT(RESTART)},
	/* A default route may resolve next hops. */
	{"resolve_via_default", config_take_bool, offsetof(struct config, resolve_via_default),
		EFFECT(COMMIT)},
	/*
	 * Largest number of equal paths that forward packets together (ECMP). Unit: paths.
	 */
	{"max_paths", config_take_u32, offsetof(struct config, max_paths), 1, PATHS_MAX, .def = 1,
		EFFECT(COMMIT)},
	/*
	 * Before maintenance of the router: all sessions advertise as with
	 * `graceful_shutdown.send`. Received routes stay as they are.
	 */
	{"graceful_shutdown", config_take_bool, offsetof(struct config, graceful_shutdown),
		EFFECT(EXPORT)},
	/*
	 * A route whose AS path has more AS numbers, those in sets included, is treated as
	 * withdrawn. Unit: AS numbers.
	 */
	{"max_as_path_length", config_take_u32, offsetof(struct config, max_as_path_length), 1,
		65535, .def = 254, EFFECT(IMPORT)},
	/*
	 * Bound on withdrawn destinations whose withdrawal has not been sent to all peers, for
	 * each table of each RIB thread. Beyond the bound, the session of a peer that has read less
	 * than 64 KiB while its connection was full for 3 s ends with Cease / Out of Resources.
	 * Unit: destinations. Default: an eighth of the destinations of the table, at least 65,536.
	 */
	{"tombstones_max", config_take_u32, offsetof(struct config, tombstones_max), 1024, 1u << 30,
		EFFECT(COMMIT)},
	/*
	 * Cluster identifier of this route reflector (RFC 4456), written as an IPv4 address
	 * other than 0.0.0.0 or as an integer. Default: `router.router_id`.
	 */
	{"cluster_id", take_cluster_id, offsetof(struct config, cluster_id), EFFECT(IMPORT)},
	/* Sources whose routes are originated in BGP. */
	{"redistribute", take_redistribute},
	/* The same as `preference` in the root of the document. */
	{"preference", config_take_preference},
	/* Ranges of addresses from which dynamic peers may connect. */
	{"listen_ranges", take_ranges},
	/*
	 * Largest number of dynamic peers. Further connections are refused; existing peers stay
	 * when the limit becomes smaller. Unit: peers.
	 */
	{"listen_limit", config_take_u32, offsetof(struct config, listen_limit), 1, 65535,
		.def = 100, EFFECT(COMMIT)},
	/* Aggregate routes. */
	{"aggregates", config_take_unsupported},
	/* Advertises a route only when the forwarding tables have the route. */
	{"suppress_fib_pending", config_take_unsupported},
};

void
config_bgp_defaults(struct config *config)
{
	CONFIG_DEFAULTS(bgp_keys, config);
}

/* What a peer has from keys of the router. */
static void
of_router(const struct config *config, struct config_peer *p)
{
	p->max_as_path_length = config->max_as_path_length;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		p->families[f].route_server_client = p->route_server_client;
		p->families[f].graceful_shutdown =
			config->graceful_shutdown || p->graceful_shutdown.send;
	}
}

void
config_take_bgp(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	CONFIG_TAKE(c, at, value, bgp_keys, config);
	/* after all keys, because their order is free */
	for (unsigned i = 0; i < config->peer_count; i++)
		of_router(config, &config->peers[i]);
	for (unsigned i = 0; i < config->range_count; i++)
		of_router(config, &config->ranges[i].peer);
}
