/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The section `bgp`: peers, groups, families. A peer is checked three times: the group alone and the peer alone for faults, whose pointers
 * then lead to the right place; and group and peer merged, muted, for the values.
 */
#include "control/config/config_impl.h"
#include "control/config/policy_text.h"
#include "control/config/policy_compile.h"
#include "lpm/path_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a peer's parts ---- */

/* Timers of a session. */
static const struct config_key timer_keys[] = {
	/*
	 * Hold time that keeld proposes in OPEN; the session uses the smaller proposal of both
	 * sides. 0 turns the hold timer and keepalives off. 1 and 2 are not allowed (RFC 4271
	 * 4.2). Unit: seconds.
	 */
	{"hold_s", config_take_u32, offsetof(struct config_timers, hold_s), 0, 65535, .def = 90,
		EFFECT(RESET), LINE("timer hold NUMBER", "hold time, in seconds"),
		BIRD("hold time NUMBER")},
	/*
	 * Longest time between two keepalives. The interval is never more than a third of the
	 * negotiated hold time; each interval is shortened by up to 25 % at random. Must be
	 * less than `hold_s`. Unit: seconds. Default: a third of the negotiated hold time.
	 */
	{"keepalive_s", config_take_u32, offsetof(struct config_timers, keepalive_s), 1, 21845,
		EFFECT(TIMER), BIRD("keepalive time NUMBER")},
	/*
	 * Time between two attempts to connect; each is varied by up to 25 % at random. Unit:
	 * seconds.
	 */
	{"connect_retry_s", config_take_u32, offsetof(struct config_timers, connect_retry_s), 1,
		65535, .def = 10, EFFECT(TIMER),
		VRP_LINE("timer connect-retry NUMBER",
			"interval between attempts to connect, in seconds"),
		FRR("timers connect NUMBER"), BIRD("connect retry time NUMBER")},
	/*
	 * Time that a peer stays idle after a session ended by an error. The time doubles with
	 * each failure, up to 60 seconds, and begins again at this value when the session is
	 * established. An administrative reset has no idle time. Unit: seconds.
	 */
	{"idle_hold_s", config_take_u32, offsetof(struct config_timers, idle_hold_s), 1, 3600,
		.def = 1, EFFECT(TIMER)},
	/* Hold time while keeld waits for the peer's OPEN. Unit: seconds. */
	{"open_sent_hold_s", config_take_u32, offsetof(struct config_timers, open_sent_hold_s), 1,
		65535, .def = 240, EFFECT(TIMER), BIRD("startup hold time NUMBER")},
	/*
	 * The session ends when the peer accepts no data for this time (RFC 9687). Unit:
	 * seconds. Default: 480, or twice the negotiated hold time where that is more.
	 */
	{"send_hold_s", config_take_u32, offsetof(struct config_timers, send_hold_s), 1, 65535,
		EFFECT(TIMER)},
	/*
	 * Shortest time between two advertisements of changed routes to the peer (RFC 4271
	 * 9.2.1.1). 0: changes are advertised at once. Unit: seconds.
	 */
	{"min_advertisement_s", config_take_u32,
		offsetof(struct config_timers, min_advertisement_s), 0, 600, EFFECT(TIMER),
		VRP_LINE("route-update-interval NUMBER",
			"least interval between announcements, in seconds"),
		FRR("advertisement-interval NUMBER")},
	/*
	 * Bound on route refresh and graceful restart: after this time stale routes are removed, and an incomplete refresh fails. Unit:
	 * seconds.
	 */
	{"stale_refresh_s", config_take_u32, offsetof(struct config_timers, stale_refresh_s), 1,
		65535, .def = 600, EFFECT(TIMER)},
	/*
	 * Long-lived graceful restart as helper (RFC 9494): after the restart time, routes of the peer
	 * stay for this time, or for the time of the peer if that is shorter, with the community
	 * `llgr-stale`, which makes a route the last choice whatever a policy prefers. The time ends
	 * with the End-of-RIB of the peer. Routes with `no-llgr` are removed. 0: off, and the next
	 * session does not offer the capability. Unit: seconds.
	 */
	{"long_lived_stale_time", config_take_u32,
		offsetof(struct config_timers, long_lived_stale_time), 0, 16777215, EFFECT(TIMER)},
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

/*
 * Detection of a slow peer, for each address family. A slow peer has `slow` in `bgp.peers`; the
 * event `slow-peer` and a line of the log report the beginning and the end. Only time with a full
 * connection counts. Other peers do not wait for a slow peer: a slow peer falls behind its update
 * group, and later gets the present routes.
 */
static const struct config_key slow_peer_keys[] = {
	/*
	 * The peer is slow after its connection has accepted no data for this time, while routes
	 * wait for the peer. 0 turns this limit off. Unit: seconds.
	 */
	{"absolute_s", config_take_u32, offsetof(struct config_slow_peer, absolute_s), 0, 86400,
		EFFECT(COMMIT)},
	/*
	 * The peer is slow when it is this far behind the peers with the same routes and export
	 * rules. 0 turns this limit off. Unit: seconds.
	 */
	{"relative_s", config_take_u32, offsetof(struct config_slow_peer, relative_s), 0, 86400,
		.def = 300, EFFECT(COMMIT)},
	/*
	 * The peer is no longer slow after this time, and detection starts again. Earlier, the
	 * peer is no longer slow when it has caught up and has stayed so for the smaller of the
	 * two limits. Unit: seconds.
	 */
	{"switch_back_s", config_take_u32, offsetof(struct config_slow_peer, switch_back_s), 1,
		86400, .def = 3600, EFFECT(COMMIT)},
};

static void
take_slow_peer(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, slow_peer_keys, out);
}

#define CAPABILITY(name) offsetof(struct config_peer, capabilities.name)

/*
 * Capabilities that keeld sends in OPEN (RFC 5492). A capability is in use when both sides send
 * it.
 */
static const struct config_key capability_keys[] = {
	/* Route refresh (RFC 2918): either side can ask the other for all routes again. */
	{"route_refresh", config_take_bool, CAPABILITY(route_refresh), .def = true, EFFECT(RESET),
		LINE("capability-advertise route-refresh",
			"route refresh (RFC 2918); offered by default"),
		BIRD("enable route refresh")},
	/*
	 * Enhanced route refresh (RFC 7313): messages mark the beginning and the end of a refresh, and routes that were not announced in
	 * between are removed.
	 */
	{"enhanced_route_refresh", config_take_bool, CAPABILITY(enhanced_route_refresh),
		.def = true, EFFECT(RESET), BIRD("enable enhanced route refresh")},
	/* AS numbers of four octets (RFC 6793). */
	{"four_octet_as", config_take_bool, CAPABILITY(four_octet_as), .def = true, EFFECT(RESET)},
	/* Messages of up to 65,535 octets (RFC 8654). */
	{"extended_message", config_take_bool, CAPABILITY(extended_message), .def = true,
		EFFECT(RESET), BIRD("enable extended messages")},
	/*
	 * Graceful restart (RFC 4724, RFC 8538), the helper's part: routes of a peer that
	 * restarts stay in use as stale routes. The capability of keeld lists all families of the
	 * session, because keelfwd forwards while keeld restarts; without a data plane none.
	 */
	{"graceful_restart", config_take_bool, CAPABILITY(graceful_restart), .def = true,
		EFFECT(RESET)},
	/* Several paths for one prefix (RFC 7911). */
	{"add_path", config_take_unsupported},
	/* IPv4 routes with IPv6 next hops (RFC 8950). */
	{"extended_next_hop", config_take_bool, CAPABILITY(extended_next_hop), EFFECT(RESET)},
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
	return c->text == NULL || policy_text_defines(c->text, name) ||
	       strcmp(name, "accept-all") == 0 || strcmp(name, "deny-all") == 0 ||
	       config_named(&c->policies_by_name, json_object_get(c->document, "route_policies"),
		       name) != NULL;
}

void
config_take_policy_name(CONFIG_TAKE_ARGS)
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

static void
take_role(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {[ROLE_NONE] = "none",
		[ROLE_PROVIDER] = "provider",
		[ROLE_RS] = "rs-server",
		[ROLE_RS_CLIENT] = "rs-client",
		[ROLE_CUSTOMER] = "customer",
		[ROLE_PEER] = "peer",
		NULL};
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(uint8_t *)out = (uint8_t)word;
}

/*
 * Bound on the prefixes of one family that are accepted from a peer. The bound is exact: with
 * `shutdown` and `discard`, prefix number `limit` + 1 is neither stored nor advertised to any
 * peer.
 */
static const struct config_key max_prefixes_keys[] = {
	/*
	 * Largest number of prefixes. With `keep_all_routes`, kept routes that the policy
	 * rejects count as well. Unit: prefixes.
	 */
	{"limit", config_take_u32, offsetof(struct config_family, max_prefixes), 1, UINT32_MAX,
		true, EFFECT(COMMIT)},
	/*
	 * What happens beyond `limit`. `shutdown` ends the session with Cease / Maximum Number
	 * of Prefixes. `discard` drops further prefixes and keeps the session. `warning` stores
	 * them. All three raise the alarm `max-prefixes`. Default: shutdown.
	 */
	{"action", take_max_prefixes_action, offsetof(struct config_family, max_prefixes_action),
		EFFECT(COMMIT)},
	/*
	 * Share of `limit` from which the alarm `max-prefixes` is raised. Unit: percent of
	 * `limit`.
	 */
	{"threshold_percent", config_take_u8,
		offsetof(struct config_family, max_prefixes_threshold), 1, 100, .def = 80,
		EFFECT(COMMIT)},
	/*
	 * Time after a `shutdown` until the session is established again. Only valid with
	 * `action` `shutdown`. Unit: seconds. Default: the peer stays down until an operator
	 * resets the peer or changes the limit.
	 */
	{"restart_s", config_take_u32, offsetof(struct config_family, max_prefixes_restart_s), 1,
		86400, EFFECT(COMMIT)},
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

static void
take_max_prefixes_out_action(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {
		[MAX_PREFIXES_WARNING] = "warning", [MAX_PREFIXES_SHUTDOWN] = "shutdown", NULL};
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(uint8_t *)out = (uint8_t)word;
}

/*
 * Bound on the prefixes of one family that are advertised to a peer: a guard against a wrong
 * policy, for a peer with a limit of its own.
 */
static const struct config_key max_prefixes_out_keys[] = {
	/* Largest number of advertised prefixes. Unit: prefixes. */
	{"limit", config_take_u32, offsetof(struct config_family, max_prefixes_out), 1, UINT32_MAX,
		true, EFFECT(COMMIT)},
	/*
	 * What happens beyond `limit`. `warning` advertises the prefixes. `shutdown` ends the
	 * session before a further prefix is sent, and the peer stays down until an operator
	 * resets the peer or changes the limit. Both raise the alarm `max-prefixes-out`. Default: warning.
	 */
	{"action", take_max_prefixes_out_action,
		offsetof(struct config_family, max_prefixes_out_action), EFFECT(COMMIT)},
	/*
	 * Share of `limit` from which the alarm `max-prefixes-out` is raised. Unit: percent of
	 * `limit`.
	 */
	{"threshold_percent", config_take_u8,
		offsetof(struct config_family, max_prefixes_out_threshold), 1, 100, .def = 80,
		EFFECT(COMMIT)},
};

static void
take_max_prefixes_out(CONFIG_TAKE_ARGS)
{
	struct config_family *family = out;

	(void)key;
	CONFIG_DEFAULTS(max_prefixes_out_keys, family);
	family->max_prefixes_out_action = MAX_PREFIXES_WARNING;
	CONFIG_TAKE(c, at, value, max_prefixes_out_keys, family);
}

static void
take_prefix_list_name(CONFIG_TAKE_ARGS)
{
	const json_t *lists = json_object_get(c->document, "prefix_lists");
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!config_named(&c->prefix_lists_by_name, lists, json_string_value(value)))
		config_fault(c, at, "there is no prefix list %s", config_quote(value, buf));
	else
		*(const char **)out = json_string_value(value);
}

static void
take_blackhole_community(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {"no-export", "no-advertise", NULL};
	static const uint32_t communities[] = {0xffffff01, 0xffffff02}; /* RFC 1997 */
	int word = config_value_word(c, at, value, words);

	(void)key;
	if (word >= 0)
		*(uint32_t *)out = communities[word];
}

/*
 * Routes with the community BLACKHOLE (RFC 7999) from this external peer discard their packets,
 * under the drop reason `blackhole`. Such a route is accepted if it is long enough and lies inside
 * of the prefixes that the peer may announce; its import policy is then not asked. Other routes
 * with the community are refused under the cause `blackhole`.
 */
static const struct config_key blackhole_keys[] = {
	/*
	 * A prefix list: what the peer may announce. The route must lie inside of a prefix that the list
	 * permits; `ge` and `le` of the entries do not count.
	 */
	{"prefix_list", take_prefix_list_name, offsetof(struct config_blackhole, prefix_list), 0, 0,
		true, EFFECT(IMPORT)},
	/* Shortest length of the prefix. Unit: bits. Default: 32 for IPv4, 128 for IPv6. */
	{"min_length", config_take_u8, offsetof(struct config_blackhole, min_length), 1, 128,
		EFFECT(IMPORT)},
	/*
	 * The community that is added to the route: `no-export` or `no-advertise`. Default:
	 * no-export.
	 */
	{"community", take_blackhole_community, offsetof(struct config_blackhole, community),
		EFFECT(IMPORT)},
};

static void
take_blackhole(CONFIG_TAKE_ARGS)
{
	struct config_blackhole *b = out;

	(void)key;
	b->community = 0xffffff01;
	CONFIG_TAKE(c, at, value, blackhole_keys, b);
}

static void
take_site(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];
	struct ext_community site;

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (ext_community_parse(json_string_value(value), &site) != 0 ||
		 !ext_community_is(site, EXT_SITE_OF_ORIGIN))
		config_fault(c, at,
			"%s is not a site of origin, as soo:64512:1, soo:4200000000:1 or "
			"soo:192.0.2.1:1",
			config_quote(value, buf));
	else
		*(struct ext_community *)out = site;
}

/* A family of a session. The family is enabled by the presence of its object. */
static const struct config_key family_keys[] = {
	/* `false` disables a family that the group enables. */
	{"enabled", config_take_bool, offsetof(struct config_family, enabled), .def = true,
		EFFECT(RESET), VRP("enable"), FRR("activate")},
	/*
	 * Route policy for routes from the peer; see keel-policy(7). `accept-all` and
	 * `deny-all` always exist. Default: an external session accepts nothing (RFC 8212); an
	 * internal session accepts all.
	 */
	{"import_policy", config_take_policy_name, offsetof(struct config_family, import_policy),
		EFFECT(IMPORT)},
	/*
	 * Route policy for routes to the peer; see keel-policy(7). The policy sees attributes
	 * before keeld sets next hop and own AS number. Default: an external session sends
	 * nothing (RFC 8212); an internal session sends all.
	 */
	{"export_policy", config_take_policy_name, offsetof(struct config_family, export_policy),
		EFFECT(EXPORT)},
	/*
	 * Routes of external peers are advertised to this internal peer with the address of
	 * this router as next hop, VPN routes with a label of this router. No effect on reflected routes (RFC 4456 10) and on external peers, which get the address of this router
	 * anyway. Not together with
	 * `next_hop_unchanged`.
	 */
	{"next_hop_self", config_take_bool, offsetof(struct config_family, next_hop_self),
		EFFECT(EXPORT), VRP_LINE("next-hop-local", "this router as next hop"),
		FRR("next-hop-self")},
	/*
	 * Routes are advertised to this external peer with the next hop as received, as a route
	 * server does; the link-local half of an IPv6 next hop only to a peer on the same link (RFC 2545 3). Without this key a VPN route gets a label of this router (RFC 4364 10 b). Not together with `next_hop_self`.
	 */
	{"next_hop_unchanged", config_take_bool, offsetof(struct config_family, next_hop_unchanged),
		EFFECT(EXPORT), VRP_LINE("next-hop-invariable", "the next hop unchanged"),
		FRR("attribute-unchanged next-hop")},
	/*
	 * Sends communities of all kinds to the peer. VPN routes always have their extended communities, because of the route targets.
	 */
	{"send_communities", config_take_bool, offsetof(struct config_family, send_communities),
		.def = true, EFFECT(RESET),
		LINE("advertise-community", "communities; the default")},
	/*
	 * Keeps the routes of the peer as received, rejected routes too. A changed policy is
	 * then applied to the kept routes without a message to the peer. When the key becomes
	 * true, a peer with route refresh is asked once for all routes; the session of a peer
	 * without route refresh is reset once.
	 */
	{"keep_all_routes", config_take_bool, offsetof(struct config_family, keep_all_routes),
		EFFECT(IMPORT),
		VRP_LINE("keep-all-routes", "keep all routes as received, so that a new policy "
					    "applies without asking the peer"),
		FRR("soft-reconfiguration inbound")},
	/* Bound on the prefixes that are accepted from the peer. Default: no bound. */
	{"max_prefixes", take_max_prefixes},
	/* Bound on the prefixes that are advertised to the peer. Default: no bound. */
	{"max_prefixes_out", take_max_prefixes_out},
	/* Routes that discard packets (RFC 7999). Default: the community has no effect. */
	{"blackhole", take_blackhole, offsetof(struct config_family, blackhole)},
	/*
	 * Removes private AS numbers (RFC 6996) from AS paths that are advertised to the peer,
	 * also a private `router.asn` behind `local_as`. External peers only.
	 */
	{"remove_private_as", config_take_bool, offsetof(struct config_family, remove_private_as),
		EFFECT(EXPORT), LINE("public-as-only", "no private AS numbers"),
		FRR("remove-private-AS all")},
	/*
	 * How often `router.asn` and `local_as` may each occur in the AS path of a route from the
	 * peer. A route with more is refused as a loop.
	 */
	{"allow_as_in", config_take_u8, offsetof(struct config_family, allow_as_in), 0, 255,
		EFFECT(IMPORT),
		VRP_LINE("allow-as-loop [NUMBER=1]",
			"accept AS paths that hold this AS number, so many times"),
		FRR("allowas-in [NUMBER=3]")},
	/*
	 * In AS paths advertised to the peer, replaces the AS number of the peer by the AS number of this router. External peers only.
	 */
	{"as_override", config_take_bool, offsetof(struct config_family, as_override),
		EFFECT(EXPORT),
		VRP_LINE("substitute-as", "this AS number in place of the AS number of the peer"),
		FRR("as-override")},
	/*
	 * Advertises a default route to the peer, whether or not this router has one. The
	 * default route does not pass the export policy; an external peer must have an export
	 * policy all the same (RFC 8212).
	 */
	{"default_originate", config_take_bool, offsetof(struct config_family, default_originate),
		EFFECT(EXPORT), VRP_LINE("default-route-advertise", "a default route"),
		FRR("default-originate")},
	/*
	 * Site of origin (an extended community). Routes from the peer get the community before the import policy; routes with the community are not
	 * advertised to the peer. For the peers of a site with several links. Default: none.
	 */
	{"site_of_origin", take_site, offsetof(struct config_family, site_of_origin),
		EFFECT(RESET)},
};

/* The key is the name of the family. */
static void
take_family(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;
	struct config_family *family = &peer->families[family_from_text(key->name)];

	family->enabled = true; /* by its presence */
	CONFIG_TAKE(c, at, value, family_keys, family);
	if (family->next_hop_self && family->next_hop_unchanged)
		config_fault(
			c, at, "only one of `next_hop_self` and `next_hop_unchanged` can be true");
}

/* Memberships of route targets. They are enabled by the presence of the object. */
static const struct config_key rt_constraint_keys[] = {
	/* `false` disables a family that the group enables. */
	{"enabled", config_take_bool, offsetof(struct config_peer, rt_constraint), .def = true,
		EFFECT(RESET)},
};

static void
take_rt_constraint(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;

	(void)key;
	peer->rt_constraint = true; /* by its presence */
	CONFIG_TAKE(c, at, value, rt_constraint_keys, peer);
}

/* Families of a session, by name. Default: the unicast family of the peer's address. */
static const struct config_key families_keys[] = {
	/* IPv4 unicast routes. */
	{"ipv4-unicast", take_family},
	/* IPv6 unicast routes. */
	{"ipv6-unicast", take_family},
	/* IPv4 VPN routes (RFC 4364). Only in the VRF `default`. */
	{"vpnv4-unicast", take_family},
	/* IPv6 VPN routes (RFC 4659). Only in the VRF `default`. */
	{"vpnv6-unicast", take_family},
	/*
	 * Route targets (RFC 4684): each side sends the targets that it imports, and gets VPN
	 * routes with these targets alone. Only beside a VPN family.
	 */
	{"rt-constraint", take_rt_constraint},
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

/* RFC 2385 2: ASCII octets. No reason shows the password or its length. */
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
			"\" means an unchanged password, and there is none; give the password");
	else if (json_string_length(value) == 0 || json_string_length(value) > PASSWORD_MAX)
		config_fault(c, at, "must be 1 to %u octets long", PASSWORD_MAX);
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

static void
take_link_sensitive(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (json_is_boolean(value))
		*(uint8_t *)out = json_is_true(value) ? LINK_SENSITIVE_YES : LINK_SENSITIVE_NO;
	else
		config_fault_type(c, at, value, "true or false");
}

/*
 * Graceful shutdown (RFC 8326): traffic leaves a session before maintenance, while the routes are
 * still there.
 */
static const struct config_key graceful_shutdown_keys[] = {
	/*
	 * Routes from this external peer with the community GRACEFUL_SHUTDOWN get LOCAL_PREF 0,
	 * whatever the import policy sets. No effect on internal peers.
	 */
	{"honour", config_take_bool, PEER(graceful_shutdown.honour), EFFECT(IMPORT)},
	/*
	 * Before maintenance of the session: an external peer gets all routes with the community
	 * GRACEFUL_SHUTDOWN, and its own routes get LOCAL_PREF 0; an internal peer gets all routes with
	 * LOCAL_PREF 0.
	 */
	{"send", config_take_bool, PEER(graceful_shutdown.send), EFFECT(IMPORT)},
};

static void
take_graceful_shutdown(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, graceful_shutdown_keys, out);
}

/*
 * Keys that a peer and a group have in common. Each key that a peer does not set is inherited from the group.
 */
static const struct config_key shared_peer_keys[] = {
	/*
	 * AS number of the peer. A peer with the AS number of this router is internal; any peer with a different number is external. Default:
	 * none; the peer or its group must have the key.
	 */
	{"asn", config_take_asn, PEER(asn), EFFECT(RESET)},
	/* Text for operators, shown by `show bgp peer`. Default: none. */
	{"description", config_take_text, PEER(description), 0, 4096, EFFECT(NONE),
		VRP_LINE("description TEXT", "text for people"), FRR("description TEXT"),
		BIRD("description TEXT")},
	/* Waits for the peer to connect and never connects to the peer. */
	{"passive", config_take_bool, PEER(passive), EFFECT(COMMIT),
		VRP_LINE("listen-only", "wait for the peer to connect"), FRR("passive"),
		BIRD("passive")},
	/*
	 * Keeps the session down. A session that is up ends with Cease / Administrative
	 * Shutdown.
	 */
	{"shutdown", config_take_bool, PEER(shutdown), EFFECT(RESET),
		VRP_LINE("ignore", "keep the session down"), BIRD("disabled")},
	/*
	 * Local address of the session. The address must have the family of the peer's address; a
	 * link-local address needs the same port. Default: the kernel chooses.
	 */
	{"source", take_source, PEER(source), EFFECT(RESET),
		LINE("connect-interface ADDRESS", "local address of the session")},
	/*
	 * The peer may be several hops away; the value is the TTL of packets to the peer. The
	 * next hops of the peer's routes then need not be on a connected subnet. Default:
	 * external peers are on a connected subnet (TTL 1); internal peers may be anywhere.
	 */
	{"multihop", config_take_u8, PEER(multihop), 1, 255, EFFECT(RESET),
		VRP_LINE("ebgp-max-hop [NUMBER=255]", "largest number of hops to the peer"),
		FRR("ebgp-multihop [NUMBER=255]")},
	/*
	 * The session ends at once when the interface with the local address of the session loses
	 * carrier, is set down or deleted, or when this address is removed. No routes are kept for a
	 * graceful restart. With `false` the session ends with its hold time; routes whose next
	 * hops are on a lost link are not valid in either case. Default: true for an external peer
	 * on a connected subnet without `multihop`, else false.
	 */
	{"link_sensitive", take_link_sensitive, PEER(link_sensitive), EFFECT(COMMIT)},
	/* Capabilities that keeld sends in OPEN. */
	{"capabilities", take_capabilities},
	/* Timers of the session. */
	{"timers", take_timers, PEER(timers)},
	/* Families of the session. Default: the unicast family of the peer's address. */
	{"families", take_families},
	/*
	 * Generalized TTL security (RFC 5082): packets to the peer have TTL 255, and packets
	 * from the peer must arrive with TTL 255. Not together with `multihop`.
	 */
	{"gtsm", config_take_bool, PEER(gtsm), EFFECT(RESET),
		LINE("valid-ttl-hops", "the peer is directly connected (RFC 5082)"),
		VRP("valid-ttl-hops 1"), FRR("ttl-security hops 1"), BIRD("ttl security")},
	/*
	 * Largest TCP segment of the session, in both directions: for a path that loses larger packets without a word. Segments carry less by the
	 * length of the TCP options. The connection of a peer is agreed before keeld knows the peer, so a listener takes the smallest value of the peers
	 * and ranges of its family and VPN instance. Unit: octets. Default: by the MTU of the link and of the path.
	 */
	{"tcp_mss", config_take_u16, PEER(tcp_mss), 88, 32767, EFFECT(RESET),
		VRP_LINE("tcp-mss NUMBER", "largest TCP segment of the session, in octets"),
		FRR("tcp-mss NUMBER")},
	/*
	 * TCP-MD5 key of the session (RFC 2385), in octets. The configuration file holds the
	 * password (mode 0600); all answers, differences and logs show `***`. `***` in an
	 * edited document means that the password is unchanged. Default: none.
	 */
	{"password", take_password, PEER(password), EFFECT(RESET)},
	/*
	 * AS number of this router towards an external peer, in place of `router.asn`.
	 * The AS path of advertised routes begins with this number, followed by `router.asn`.
	 * Default: `router.asn`.
	 */
	{"local_as", config_take_asn, PEER(local_as), EFFECT(RESET),
		LINE("fake-as AS-NUMBER", "AS number of this router towards the peer")},
	/* The internal peer is a client of this route reflector (RFC 4456). */
	{"route_reflector_client", config_take_bool, PEER(route_reflector_client), EFFECT(RESET),
		LINE("reflect-client", "client of this route reflector"), BIRD("rr client")},
	/*
	 * A route from an external peer whose AS path does not begin with the AS number of the
	 * peer is treated as withdrawn (RFC 4271 6.3). Set `false` where the peer is a route
	 * server.
	 */
	{"enforce_first_as", config_take_bool, PEER(enforce_first_as), .def = true, EFFECT(IMPORT),
		LINE("check-first-as",
			"the AS number of the peer must be first in AS paths; the default"),
		FRR("enforce-first-as"), BIRD("enforce first as")},
	/*
	 * Accepts routes with an AS_SET or AS_CONFED_SET in the AS path. With `false` such a route
	 * is treated as withdrawn under the cause `as-set` (RFC 9774 3).
	 */
	{"allow_as_sets", config_take_bool, PEER(allow_as_sets), .def = true, EFFECT(IMPORT)},
	/*
	 * The external peer is a client of this route server (RFC 7947): AS path, next hop and
	 * MED are advertised as received. The peer must accept an AS path that begins with the number of a third router.
	 */
	{"route_server_client", config_take_bool, PEER(route_server_client), EFFECT(EXPORT),
		BIRD("rs client")},
	/* Graceful shutdown of the session (RFC 8326). */
	{"graceful_shutdown", take_graceful_shutdown},
	/*
	 * Role of this router towards an external peer (RFC 9234): `none`, `provider`, `rs-server` (route
	 * server), `rs-client`, `customer` or `peer`. The session needs the fitting role of the
	 * peer, where the peer announces one. The attribute OTC then keeps routes from leaking:
	 * unicast routes from a provider, peer or route server are advertised to customers and
	 * clients of a route server alone, and a route that leaked is refused under the cause
	 * `route-leak`. Default: none.
	 */
	{"role", take_role, PEER(role), EFFECT(RESET)},
	/*
	 * The session is refused unless the peer announces a role (RFC 9234 4.2). No effect
	 * without `role`.
	 */
	{"role_strict", config_take_bool, PEER(role_strict), EFFECT(RESET), BIRD("require roles")},
	/* When the peer is slow. */
	{"slow_peer", take_slow_peer, PEER(slow_peer)},
};
/*
 * A BGP peer. VPN instance and address together identify the peer; the same pair twice is a
 * fault.
 */
static const struct config_key peer_keys[] = {
	/*
	 * Address of the peer. A link-local address is written with its port, as
	 * `fe80::2%east`. An address of this router is a fault. A changed address removes the peer and adds a new peer.
	 */
	{"address", take_peer_address, 0, 0, 0, true, EFFECT(RESET)},
	/* TCP port of the peer. */
	{"port", config_take_u16, PEER(tcp_port), 1, 65535, .def = 179, EFFECT(RESET)},
	/* Group whose keys the peer inherits. Default: none. */
	{"group", take_group_name, PEER(group), EFFECT(COMMIT)},
	/* VPN instance of the session. Default: default. */
	{"vrf", config_take_vrf, PEER(vrf), EFFECT(COMMIT)},
	{.include = shared_peer_keys, .include_count = COUNT(shared_peer_keys)},
};

/*
 * A group of peers. A group has no session; the keys are defaults for peers and dynamic peers of the group.
 */
static const struct config_key group_keys[] = {
	/* Name of the group. */
	{"name", config_take_name, PEER(group), 0, 0, true, EFFECT(COMMIT)},
	{.include = shared_peer_keys, .include_count = COUNT(shared_peer_keys)},
};

/* The octets of a value; 0: a text. */
static size_t
value_size(const struct config_key *k)
{
	static const struct {
		void (*take)(CONFIG_TAKE_ARGS);
		size_t size;
	} sizes[] = {{config_take_bool, sizeof(bool)}, {config_take_u8, sizeof(uint8_t)},
		{config_take_u16, sizeof(uint16_t)}, {config_take_u32, sizeof(uint32_t)},
		{config_take_asn, sizeof(uint32_t)}, {take_role, sizeof(uint8_t)},
		{take_source, sizeof(struct ip_addr)}, {take_peer_address, sizeof(struct ip_addr)},
		{take_site, sizeof(struct ext_community)}};

	for (size_t i = 0; i < COUNT(sizes); i++)
		if (sizes[i].take == k->take)
			return sizes[i].size;
	return 0;
}

static bool
value_same(const struct config_key *k, const void *a, const void *b)
{
	const char *x, *y;
	size_t size = value_size(k);

	if (size > 0)
		return memcmp(a, b, size) == 0;
	x = *(const char *const *)a;
	y = *(const char *const *)b;
	return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
}

/* True if a key of the table that resets a session differs; `all` false: only the key `enabled`. */
static bool
keys_reset(const struct config_key *keys, size_t count, bool all, const void *a, const void *b)
{
	for (const struct config_key *k = keys; k < keys + count; k++)
		if (k->effect == EFFECT_RESET && (all || strcmp(k->name, "enabled") == 0) &&
			!value_same(k, (const char *)a + k->offset, (const char *)b + k->offset))
			return true;
	return false;
}
#define KEYS_RESET(keys, a, b) keys_reset(keys, COUNT(keys), true, a, b)

bool
config_peer_resets(const struct config_peer *a, const struct config_peer *b, unsigned families)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (keys_reset(family_keys, COUNT(family_keys), families & 1u << f, &a->families[f],
			    &b->families[f]))
			return true;
	return a->external != b->external || KEYS_RESET(shared_peer_keys, a, b) ||
	       KEYS_RESET(peer_keys, a, b) || KEYS_RESET(capability_keys, a, b) ||
	       KEYS_RESET(timer_keys, &a->timers, &b->timers) ||
	       KEYS_RESET(rt_constraint_keys, a, b);
}

/* Which family is enabled by default depends on the peer's address: default_family(). */
static struct config_peer
peer_defaults(void)
{
	struct config_peer p = {.vrf = VRF_DEFAULT, .vrf_name = "default"};

	CONFIG_DEFAULTS(peer_keys, &p);
	CONFIG_DEFAULTS(capability_keys, &p);
	CONFIG_DEFAULTS(timer_keys, &p.timers);
	CONFIG_DEFAULTS(slow_peer_keys, &p.slow_peer);
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
	struct config_peer scratch = peer_defaults();
	unsigned faults = c->f->count;

	CONFIG_TAKE(c, at, value, peer_keys, &scratch);
	const char *group_name = json_string_value(json_object_get(value, "group"));
	const json_t *group = group_name ? find_group(c, group_name) : NULL;
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
	*peer = peer_defaults();
	c->muted = true;
	CONFIG_TAKE(c, at, merged, peer_keys, peer);
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
	{"group", take_group_name, offsetof(struct config_range, group), 0, 0, true,
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
	merged = inherit(find_group(c, r->group), own);
	json_object_del(merged, "name");
	*p = peer_defaults();
	c->muted = true;
	CONFIG_TAKE(c, at, merged, peer_keys, p);
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
