/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The section `bgp`: peers, groups, families. A peer is looked at three times: its group by itself, itself as given (both for faults,
 * with pointers to where the fault stands), and merged, muted, for the values.
 */
#include "control/config/config_impl.h"
#include "control/config/policy_compile.h"
#include "lpm/path_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a peer's parts ---- */

static const struct config_key timer_keys[] = {
	{"hold_s", config_take_u32, offsetof(struct config_timers, hold_s), 0, 65535, .def = 90},
	{"keepalive_s", config_take_u32, offsetof(struct config_timers, keepalive_s), 1, 21845},
	{"connect_retry_s", config_take_u32, offsetof(struct config_timers, connect_retry_s), 1,
		65535, .def = 10},
	{"idle_hold_s", config_take_u32, offsetof(struct config_timers, idle_hold_s), 1, 3600,
		.def = 1},
	{"open_sent_hold_s", config_take_u32, offsetof(struct config_timers, open_sent_hold_s), 1,
		65535, .def = 240},
	{"send_hold_s", config_take_u32, offsetof(struct config_timers, send_hold_s), 1, 65535},
	{"min_advertisement_s", config_take_u32,
		offsetof(struct config_timers, min_advertisement_s), 0, 600},
	{"stale_refresh_s", config_take_u32, offsetof(struct config_timers, stale_refresh_s), 1,
		65535, .def = 600},
};

static void
take_timers(CONFIG_TAKE_ARGS)
{
	struct config_timers *t = out;

	(void)key;
	if (!CONFIG_TAKE(c, at, value, timer_keys, t))
		return;
	struct at hold_at = AT_KEY(at, "hold_s");
	/* RFC 4271 4.2: zero or at least three seconds */
	if (t->hold_s == 1 || t->hold_s == 2)
		config_fault(c, &hold_at, "%u is neither 0 nor at least 3", t->hold_s);
}

#define CAPABILITY(name) offsetof(struct config_peer, capabilities.name)

static const struct config_key capability_keys[] = {
	{"route_refresh", config_take_bool, CAPABILITY(route_refresh), .def = true},
	{"enhanced_route_refresh", config_take_bool, CAPABILITY(enhanced_route_refresh),
		.def = true},
	{"four_octet_as", config_take_bool, CAPABILITY(four_octet_as), .def = true},
	{"extended_message", config_take_bool, CAPABILITY(extended_message), .def = true},
	{"graceful_restart", config_take_bool, CAPABILITY(graceful_restart), .def = true},
	{"add_path", config_take_unsupported},
	{"extended_next_hop", config_take_bool, CAPABILITY(extended_next_hop)},
};

static void
take_capabilities(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, capability_keys, out);
}

static bool
policy_is_defined(struct check *c, const char *name)
{
	return strcmp(name, "accept-all") == 0 || strcmp(name, "deny-all") == 0 ||
	       config_named(&c->policies_by_name, json_object_get(c->document, "route_policies"),
		       name) != NULL;
}

static void
take_policy_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!policy_is_defined(c, json_string_value(value)))
		config_fault(c, at, "there is no route policy %s", config_quote(value, buf));
	else
		*(const char **)out = json_string_value(value);
}

static void
take_max_prefixes_action(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {[MAX_PREFIXES_WARNING] = "warning",
		[MAX_PREFIXES_SHUTDOWN] = "shutdown",
		[MAX_PREFIXES_DISCARD] = "discard",
		NULL};
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(uint8_t *)out = (uint8_t)word;
}

static const struct config_key max_prefixes_keys[] = {
	{"limit", config_take_u32, offsetof(struct config_family, max_prefixes), 1, UINT32_MAX,
		true},
	{"action", take_max_prefixes_action, offsetof(struct config_family, max_prefixes_action)},
	{"threshold_percent", config_take_u8,
		offsetof(struct config_family, max_prefixes_threshold), 1, 100, .def = 80},
	{"restart_s", config_take_u32, offsetof(struct config_family, max_prefixes_restart_s), 1,
		86400},
};

static void
take_max_prefixes(CONFIG_TAKE_ARGS)
{
	struct config_family *family = out;

	(void)key;
	CONFIG_DEFAULTS(max_prefixes_keys, family);
	family->max_prefixes_action = MAX_PREFIXES_SHUTDOWN;
	CONFIG_TAKE(c, at, value, max_prefixes_keys, family);
	if (family->max_prefixes_restart_s != 0 &&
		family->max_prefixes_action != MAX_PREFIXES_SHUTDOWN)
		config_fault(c, at, "`restart_s` is only valid with `action` \"shutdown\"");
}

static const struct config_key family_keys[] = {
	{"enabled", config_take_bool, offsetof(struct config_family, enabled), .def = true},
	{"import_policy", take_policy_name, offsetof(struct config_family, import_policy)},
	{"export_policy", take_policy_name, offsetof(struct config_family, export_policy)},
	{"next_hop_self", config_take_bool, offsetof(struct config_family, next_hop_self)},
	{"next_hop_unchanged", config_take_bool,
		offsetof(struct config_family, next_hop_unchanged)},
	{"send_communities", config_take_bool, offsetof(struct config_family, send_communities),
		.def = true},
	{"keep_all_routes", config_take_bool, offsetof(struct config_family, keep_all_routes)},
	{"max_prefixes", take_max_prefixes},
	{"remove_private_as", config_take_bool, offsetof(struct config_family, remove_private_as)},
	{"allow_as_in", config_take_u8, offsetof(struct config_family, allow_as_in), 0, 255},
	{"as_override", config_take_bool, offsetof(struct config_family, as_override)},
	{"default_originate", config_take_bool, offsetof(struct config_family, default_originate)},
	{"site_of_origin", config_take_unsupported},
};

static void
take_family(struct check *c, const struct at *at, const json_t *value, struct config_family *family)
{
	family->enabled = true; /* by its presence */
	CONFIG_TAKE(c, at, value, family_keys, family);
	if (family->next_hop_self && family->next_hop_unchanged)
		config_fault(c, at, "`next_hop_self` and `next_hop_unchanged` exclude each other");
}

static void
take_ipv4_unicast(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;

	(void)key;
	take_family(c, at, value, &peer->families[FAMILY_IPV4_UNICAST]);
}

static void
take_ipv6_unicast(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;

	(void)key;
	take_family(c, at, value, &peer->families[FAMILY_IPV6_UNICAST]);
}

/* Not config_take_unsupported: `{}` asks for the family. */
static void
take_other_family(CONFIG_TAKE_ARGS)
{
	(void)value;
	(void)key;
	(void)out;
	config_fault_unsupported(c, at);
}

static const struct config_key families_keys[] = {
	{"ipv4-unicast", take_ipv4_unicast},
	{"ipv6-unicast", take_ipv6_unicast},
	{"vpnv4-unicast", take_other_family},
	{"vpnv6-unicast", take_other_family},
};

static void
take_families(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, families_keys, out);
}

static void
take_peer_address(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;
	struct ip_addr addr;

	(void)key;
	if (!config_value_host(c, at, value, &addr))
		return;
	peer->addr = addr;
	addr_format(&addr, peer->addr_text);
}

static void
take_source(CONFIG_TAKE_ARGS)
{
	struct ip_addr addr;

	(void)key;
	if (config_value_host(c, at, value, &addr))
		*(struct ip_addr *)out = addr;
}

#define PASSWORD_MAX 80 /* TCP_MD5SIG_MAXKEYLEN */

/* RFC 2385 2: ASCII octets. No reason says what it is, or how long it nearly was. */
static void
take_password(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (json_is_null(value))
		config_fault_type(c, at, value, "");
	else if (!json_is_string(value))
		config_fault(c, at, "is not a string");
	else if (!strcmp(json_string_value(value), CONFIG_SECRET_HIDDEN))
		config_fault(c, at,
			"\"" CONFIG_SECRET_HIDDEN
			"\" stands for a password that is known already, and there is none");
	else if (json_string_length(value) == 0 || json_string_length(value) > PASSWORD_MAX)
		config_fault(c, at, "has not from 1 to %u octets", PASSWORD_MAX);
	else
		*(const char **)out = json_string_value(value);
}

static const json_t *
find_group(struct check *c, const char *name)
{
	const json_t *bgp = json_object_get(c->document, "bgp");

	return config_named(&c->groups_by_name, json_object_get(bgp, "groups"), name);
}

static void
take_group_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!find_group(c, json_string_value(value)))
		config_fault(c, at, "there is no group %s", config_quote(value, buf));
	else
		*(const char **)out = json_string_value(value);
}

#define PEER(member) offsetof(struct config_peer, member)

static const struct config_key shared_peer_keys[] = {
	{"asn", config_take_asn, PEER(asn)},
	{"description", config_take_text, PEER(description), 0, 4096},
	{"passive", config_take_bool, PEER(passive)},
	{"shutdown", config_take_bool, PEER(shutdown)},
	{"source", take_source, PEER(source)},
	{"multihop", config_take_u8, PEER(multihop), 1, 255},
	{"capabilities", take_capabilities},
	{"timers", take_timers, PEER(timers)},
	{"families", take_families},
	{"gtsm", config_take_bool, PEER(gtsm)},
	{"password", take_password, PEER(password)},
	{"local_as", config_take_asn, PEER(local_as)},
	{"route_reflector_client", config_take_bool, PEER(route_reflector_client)},
	{"enforce_first_as", config_take_bool, PEER(enforce_first_as), .def = true},
	{"slow_peer", config_take_unsupported},
};
static const struct config_key peer_keys[] = {
	{"address", take_peer_address, 0, 0, 0, true},
	{"port", config_take_u16, PEER(tcp_port), 1, 65535, .def = 179},
	{"group", take_group_name, PEER(group)},
	{"vrf", config_take_vrf, PEER(vrf)},
	{.include = shared_peer_keys, .include_count = COUNT(shared_peer_keys)},
};

static const struct config_key group_keys[] = {
	{"name", config_take_name, PEER(group), 0, 0, true},
	{.include = shared_peer_keys, .include_count = COUNT(shared_peer_keys)},
};

/* Which family is enabled by default depends on the peer's address: default_family(). */
static struct config_peer
peer_defaults(void)
{
	struct config_peer p = {.vrf = VRF_DEFAULT, .vrf_name = "default"};

	CONFIG_DEFAULTS(peer_keys, &p);
	CONFIG_DEFAULTS(capability_keys, &p);
	CONFIG_DEFAULTS(timer_keys, &p.timers);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		CONFIG_DEFAULTS(family_keys, &p.families[f]);
		p.families[f].enabled = false;
	}
	return p;
}

/* ---- bgp ---- */

static void
take_group(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_peer scratch = peer_defaults();

	(void)out;
	CONFIG_TAKE(c, at, value, group_keys, &scratch);
}

static void
take_groups(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (config_take_each(c, at, value, take_group, out))
		config_check_unique(c, at, value, "name");
}

/*
 * `over` into `under`, key by key; RFC 7396 without its nulls. New, NULL when out of memory. As deep as the document, 64 levels.
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

/* The session's own end: of the peer's kind, and on its link where that matters. */
static void
check_source(struct check *c, const struct at *at, const struct config_peer *p)
{
	struct at source_at = AT_KEY(at, "source"), multihop_at = AT_KEY(at, "multihop");
	char text[ADDR_TEXT_MAX];

	if (p->addr.zone && p->multihop)
		config_fault(c, &multihop_at,
			"a link-local address is on the link and takes no `multihop`");
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

/* Some keys mean something on one kind of session only. */
static void
check_kind(struct check *c, const struct at *at, const struct config_peer *p)
{
	struct at client_at = AT_KEY(at, "route_reflector_client"),
		  local_as_at = AT_KEY(at, "local_as"), families_at = AT_KEY(at, "families");

	if (p->external && p->route_reflector_client)
		config_fault(c, &client_at, "only an internal peer can be a client (RFC 4456)");
	if (!p->external && p->local_as != c->config->asn)
		config_fault(c, &local_as_at, "is for external peers only");
	if (p->external && p->local_as == p->asn)
		config_fault(c, &local_as_at, "%u is the AS of the peer", p->asn);
	for (unsigned f = 0; !p->external && f < FAMILY_COUNT; f++) {
		struct at family_at = AT_KEY(&families_at, family_text((enum family)f));
		struct at remove_at = AT_KEY(&family_at, "remove_private_as"),
			  override_at = AT_KEY(&family_at, "as_override");
		if (p->families[f].remove_private_as)
			config_fault(c, &remove_at, "is for external peers only");
		if (p->families[f].as_override)
			config_fault(c, &override_at, "is for external peers only");
	}
}

/* What can only be said of a peer when its group has been added. */
static void
check_merged_peer(
	struct check *c, const struct at *at, const struct config_peer *p, const json_t *merged)
{
	struct at asn_at = AT_KEY(at, "asn"), families_at = AT_KEY(at, "families"),
		  timers_at = AT_KEY(at, "timers");
	struct at keepalive_at = AT_KEY(&timers_at, "keepalive_s");

	if (!json_object_get(merged, "asn") && !p->dynamic) /* of a range: whatever the OPEN says */
		config_fault(c, &asn_at, "is missing here and in the group");
	if (p->timers.hold_s && p->timers.keepalive_s >= p->timers.hold_s)
		config_fault(c, &keepalive_at, "%u is not less than the hold time, %u",
			p->timers.keepalive_s, p->timers.hold_s);
	check_source(c, at, p);
	check_kind(c, at, p);
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		struct at family_at = AT_KEY(&families_at, family_text((enum family)f));
		if (p->families[f].next_hop_self && p->families[f].next_hop_unchanged)
			config_fault(c, &family_at,
				"`next_hop_self` and `next_hop_unchanged` exclude each other");
	}
}

/* Contract section 2: absent after inheritance, the unicast family of the peer's own address. */
static void
default_family(struct config_peer *p, const json_t *merged)
{
	if (!json_object_get(merged, "families") && p->addr.afi != AFI_NONE)
		p->families[p->addr.afi == AFI_IPV6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST]
			.enabled = true;
}

/* What follows from the whole router. */
static void
finish_peer(const struct config *config, struct config_peer *p)
{
	if (p->local_as == 0)
		p->local_as = config->asn;
	p->external = p->asn != config->asn;
}

/* The first peer of that VRF and address, which is `p` itself when it is new. */
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
	struct config_peer scratch = peer_defaults();
	unsigned faults = c->f->count;

	CONFIG_TAKE(c, at, value, peer_keys, &scratch);
	const char *group_name = json_string_value(json_object_get(value, "group"));
	const json_t *group = group_name ? find_group(c, group_name) : NULL;
	json_t *merged = inherit(json_is_object(group) ? group : NULL, value);
	json_object_del(merged, "name");
	if (json_array_append_new(config->merged, merged)) {
		config_fault(c, at, "out of memory");
		return;
	}
	*peer = peer_defaults();
	c->muted = true;
	CONFIG_TAKE(c, at, merged, peer_keys, peer);
	c->muted = false;
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

static const struct config_key range_keys[] = {
	{"prefix", take_prefix, offsetof(struct config_range, prefix), 0, 0, true},
	{"group", take_group_name, offsetof(struct config_range, group), 0, 0, true},
	{"asn", config_take_asn, offsetof(struct config_range, asn)},
	{"vrf", config_take_vrf, offsetof(struct config_range, vrf)},
};

/* All that the group says, as if a peer stood in the document with no key of its own but `asn`. Strings are the document's. */
static void
range_template(struct check *c, const struct at *at, const json_t *value, struct config_range *r)
{
	json_t *own = json_object(), *merged;
	unsigned faults = c->f->count;
	struct config_peer *p = &r->peer;

	if (r->asn)
		json_object_set(own, "asn", json_object_get(value, "asn"));
	merged = inherit(find_group(c, r->group), own);
	json_object_del(merged, "name");
	*p = peer_defaults();
	c->muted = true;
	CONFIG_TAKE(c, at, merged, peer_keys, p);
	c->muted = false;
	p->group = r->group;
	p->vrf = r->vrf;
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
	/* There is one VRF, so the prefix is the key. */
	else if (config_take_each(c, at, value, take_range, config))
		config_check_unique_prefixes(c, at, value);
}

static const struct config_key network_keys[] = {
	{"prefix", take_prefix, offsetof(struct config_network, prefix), 0, 0, true},
	{"vrf", config_take_vrf, offsetof(struct config_network, vrf)},
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
	/* There is one VRF, so the prefix is the key. */
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

/* Contract section 2: what comes out of the kernel or is configured. */
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

static const struct config_key redistribute_keys[] = {
	{"source", take_redistribute_source, offsetof(struct config_redistribute, source), 0, 0,
		true},
	{"vrf", config_take_vrf, offsetof(struct config_redistribute, vrf)},
	{"policy", take_policy_name, offsetof(struct config_redistribute, policy)},
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
	/* There is one VRF, so the source is the key. */
	else if (config_take_each(c, at, value, take_redistribute_one, config))
		config_check_unique(c, at, value, "source");
}

static const struct config_key bgp_keys[] = {
	{"networks", take_networks},
	{"policy_change_delay_s", config_take_u32, offsetof(struct config, policy_change_delay_s),
		0, 86400},
	{"policy_change_max_delay_s", config_take_u32,
		offsetof(struct config, policy_change_max_delay_s), 0, 86400, .def = 30},
	{"commit_hold_s", config_take_u32, offsetof(struct config, commit_hold_s), 0, 3600,
		.def = 30},
	{"groups", take_groups},
	{"peers", take_peers},
	{"next_hop_tracking", config_take_bool, offsetof(struct config, next_hop_tracking),
		.def = true},
	{"resolve_via_default", config_take_bool, offsetof(struct config, resolve_via_default)},
	{"max_paths", config_take_u32, offsetof(struct config, max_paths), 1, PATHS_MAX, .def = 1},
	{"max_as_path_length", config_take_u32, offsetof(struct config, max_as_path_length), 1,
		65535, .def = 254},
	{"tombstones_max", config_take_u32, offsetof(struct config, tombstones_max), 1024,
		1u << 30},
	{"cluster_id", take_cluster_id, offsetof(struct config, cluster_id)},
	{"redistribute", take_redistribute},
	{"preference", config_take_preference},
	{"listen_ranges", take_ranges},
	{"listen_limit", config_take_u32, offsetof(struct config, listen_limit), 1, 65535,
		.def = 100},
	{"aggregates", config_take_unsupported},
	{"suppress_fib_pending", config_take_unsupported},
};

void
config_bgp_defaults(struct config *config)
{
	CONFIG_DEFAULTS(bgp_keys, config);
}

void
config_take_bgp(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	CONFIG_TAKE(c, at, value, bgp_keys, config);
	/* behind all keys, in whatever order they stand */
	for (unsigned i = 0; i < config->peer_count; i++)
		config->peers[i].max_as_path_length = config->max_as_path_length;
	for (unsigned i = 0; i < config->range_count; i++)
		config->ranges[i].peer.max_as_path_length = config->max_as_path_length;
}
