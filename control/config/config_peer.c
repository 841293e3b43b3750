/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of peers and groups, with families; which of them reset a session; their defaults. */
#include "control/config/config_impl.h"
#include "control/config/policy_text.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

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
	 * The peer is slow when so far behind the peers with the same routes and export
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

const json_t *
config_find_group(struct check *c, const char *name)
{
	const json_t *bgp = json_object_get(c->document, "bgp");

	return config_named(&c->groups_by_name, json_object_get(bgp, "groups"), name);
}

void
config_take_group_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!config_find_group(c, json_string_value(value)))
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
	{"group", config_take_group_name, PEER(group), EFFECT(COMMIT)},
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
struct config_peer
config_peer_defaults(void)
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

void
config_take_group(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_peer scratch = config_peer_defaults();

	(void)out;
	CONFIG_TAKE(c, at, value, group_keys, &scratch);
}

void
config_take_peer(struct check *c, const struct at *at, const json_t *value, struct config_peer *out)
{
	CONFIG_TAKE(c, at, value, peer_keys, out);
}
