/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Next hops of `keelctl import`. BIRD and FRR advertise the gateway of a static route to internal
 * neighbours, and the next hop of a third router on the subnet of an external neighbour. VRP does so
 * only with `nexthop third-party`, which is not carried. keeld advertises its own address, unless a
 * policy sets the next hop.
 */
#include "control/cli/keelctl_import.h"

#include <arpa/inet.h>

static const char *const homes[] = {"peers", "groups"};

static bool
is_external(const struct import *im, const json_t *o, const json_t *group)
{
	const json_t *asn = import_value_of(o, group, "asn"),
		     *own = json_object_get(json_object_get(im->document, "router"), "asn");

	return asn != NULL && !json_equal(asn, own);
}

/* True if the key is true in each family. */
static bool
in_each_family(const json_t *o, const json_t *group, const char *key)
{
	const json_t *theirs = json_object_get(group, "families"),
		     *mine = json_object_get(o, "families");
	bool each = json_object_size(mine) > 0 || json_object_size(theirs) > 0;
	const char *name;
	json_t *f;

	json_object_foreach((json_t *)(size_t)mine, name, f) each =
		each && json_is_true(import_value_of(f, json_object_get(theirs, name), key));
	json_object_foreach((json_t *)(size_t)theirs, name, f)
	{
		if (json_object_get(mine, name) == NULL)
			each = each && json_is_true(json_object_get(f, key));
	}
	return each;
}

/* Two addresses that can be on one subnet. */
static bool
near(const char *a, const char *b)
{
	unsigned char x[16], y[16];
	int family = a != NULL && strchr(a, ':') != NULL ? AF_INET6 : AF_INET;

	return a != NULL && b != NULL && inet_pton(family, a, x) == 1 &&
	       inet_pton(family, b, y) == 1 && memcmp(x, y, family == AF_INET ? 3 : 8) == 0;
}

static bool
redistributes_static(const struct import *im)
{
	const json_t *o =
		import_named(json_object_get(im->bgp, "redistribute"), "source", "static");

	return o != NULL && !is(json_string_value(json_object_get(o, "policy")), "deny-all");
}

static bool
has_gateway_near(const struct import *im, const char *address)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(im->document, "static_routes"), i, o)
	{
		if (near(address, json_string_value(json_object_get(o, "next_hop"))))
			return true;
	}
	return false;
}

const char *
import_third_party(const struct import *im, const json_t *peer, bool single_hop)
{
	const char *address = json_string_value(json_object_get(peer, "address"));
	const json_t *group = import_group_of(im, peer);
	json_t *other;
	size_t i;

	if (!is_external(im, peer, group) ||
		(single_hop && import_value_of(peer, group, "multihop") != NULL) ||
		json_is_true(import_value_of(peer, group, "route_server_client")) ||
		in_each_family(peer, group, "next_hop_self") ||
		in_each_family(peer, group, "next_hop_unchanged"))
		return NULL;
	json_array_foreach(json_object_get(im->bgp, "peers"), i, other)
	{
		if (other != peer &&
			near(address, json_string_value(json_object_get(other, "address"))))
			return "changed: routes of other neighbours on the same subnet get the "
			       "address of this router as next hop";
	}
	return redistributes_static(im) && has_gateway_near(im, address)
		       ? "changed: static routes through a gateway on the same subnet get the "
			 "address of this router as next hop"
		       : NULL;
}

void
import_third_parties(struct import *im)
{
	const char *verdict;
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(im->bgp, "peers"), i, o)
	{
		verdict = import_third_party(im, o, false);
		if (verdict != NULL)
			import_end_report(im, json_string_value(json_object_get(o, "address")),
				"%s", verdict);
	}
}

/* ---- gateways of static routes ---- */

/* True if the node sets the next hop, or has a condition on the next hop. */
static bool
has_next_hop(const json_t *node)
{
	return json_object_get(json_object_get(node, "set"), "next_hop") != NULL ||
	       json_object_get(json_object_get(node, "match"), "next_hop_prefix_list") != NULL;
}

/* True if the neighbour or the group is internal, and advertises received next hops. */
static bool
takes_gateways(const struct import *im, const json_t *o)
{
	const json_t *group = import_group_of(im, o);

	return import_value_of(o, group, "asn") != NULL && !is_external(im, o, group) &&
	       !in_each_family(o, group, "next_hop_self");
}

/* True if the neighbour is external, and gets next hops as keeld has them. */
static bool
is_transparent(const struct import *im, const json_t *o)
{
	const json_t *group = import_group_of(im, o), *f;
	const char *name;

	if (!is_external(im, o, group))
		return false;
	json_object_foreach(json_object_get(o, "families"), name, f)
	{
		if (json_is_true(json_object_get(f, "next_hop_unchanged")))
			return true;
	}
	json_object_foreach(json_object_get(group, "families"), name, f)
	{
		if (json_is_true(json_object_get(f, "next_hop_unchanged")) &&
			json_object_get(json_object_get(json_object_get(o, "families"), name),
				"next_hop_unchanged") == NULL)
			return true;
	}
	return json_is_true(import_value_of(o, group, "route_server_client"));
}

static bool
any_peer(const struct import *im, bool (*test)(const struct import *, const json_t *))
{
	json_t *o;
	size_t i;

	for (unsigned h = 0; h < 2; h++) {
		json_array_foreach(json_object_get(im->bgp, homes[h]), i, o)
		{
			if (test(im, o))
				return true;
		}
	}
	return false;
}

/* The gateway of a prefix with one gateway; NULL: none, or *several. */
static const char *
gateway_of(const struct import *im, const json_t *route, bool *several)
{
	const char *prefix = json_string_value(json_object_get(route, "prefix")),
		   *gateway = json_string_value(json_object_get(route, "next_hop"));
	unsigned count = 0;
	json_t *o;
	size_t i;

	if (gateway == NULL || strchr(gateway, '%') != NULL ||
		(strchr(gateway, ':') == NULL) != (strchr(prefix, ':') == NULL))
		return NULL;
	json_array_foreach(json_object_get(im->document, "static_routes"), i, o) count +=
		is(json_string_value(json_object_get(o, "prefix")), prefix);
	*several = *several || count > 1;
	return count == 1 ? gateway : NULL;
}

/* {gateway: [entries of a prefix list]} */
static json_t *
gateways(const struct import *im, bool *several)
{
	json_t *all = json_object(), *o;
	size_t i;

	json_array_foreach(json_object_get(im->document, "static_routes"), i, o)
	{
		const char *gateway = gateway_of(im, o, several);

		if (gateway != NULL)
			json_array_append_new(member_made(all, gateway, json_array()),
				json_pack("{s:s, s:O}", "action", "permit", "prefix",
					json_object_get(o, "prefix")));
	}
	return all;
}

bool
import_has_gateways(const struct import *im)
{
	bool several = false;
	json_t *all = gateways(im, &several);
	bool any = redistributes_static(im) && json_object_size(all) > 0;

	json_decref(all);
	return any;
}

/* A name that the section does not have. */
static void
free_name(const struct import *im, const char *section, const char *base, char buf[64])
{
	snprintf(buf, 64, "%s", base);
	for (unsigned n = 2;
		import_named(json_object_get(im->document, section), "name", buf) != NULL; n++)
		snprintf(buf, 64, "%s-%u", base, n);
}

/* A policy that sets the gateways of the prefixes, and calls `policy` (NULL: none). */
static json_t *
gateway_nodes(struct import *im, json_t *all, const char *policy)
{
	json_t *nodes = json_array(), *entries;
	const char *gateway;
	json_int_t seq = 10;
	char name[64];

	json_object_foreach(all, gateway, entries)
	{
		free_name(im, "prefix_lists", "static-gateway", name);
		json_array_append_new(member_made(im->document, "prefix_lists", json_array()),
			json_pack("{s:s, s:O}", "name", name, "entries", entries));
		json_array_append_new(
			nodes, json_pack("{s:I, s:s, s:{s:s}, s:s*, s:{s:s}}", "seq", seq, "action",
				       "permit", "match", "prefix_list", name, "call", policy,
				       "set", "next_hop", gateway));
		seq += 10;
	}
	json_array_append_new(nodes,
		json_pack("{s:I, s:s, s:s*}", "seq", seq, "action", "permit", "call", policy));
	return nodes;
}

void
import_gateways(struct import *im)
{
	json_t *o = import_named(json_object_get(im->bgp, "redistribute"), "source", "static"),
	       *all;
	const char *policy = json_string_value(json_object_get(o, "policy"));
	bool several = false;
	char name[64];

	if (im->own_next_hop || !redistributes_static(im) || !any_peer(im, takes_gateways))
		return;
	all = gateways(im, &several);
	if (is(policy, "accept-all"))
		policy = NULL;
	if (json_object_size(all) > 0 &&
		(import_any_node(im, policy, has_next_hop) || any_peer(im, is_transparent)))
		import_end_report(im, "static",
			"changed: internal neighbours get the address of this router as next hop "
			"of static routes, not the gateway");
	else if (json_object_size(all) > 0) {
		json_t *nodes = gateway_nodes(im, all, policy);

		free_name(im, "route_policies", "static-gateways", name);
		json_array_append_new(member_made(im->document, "route_policies", json_array()),
			json_pack("{s:s, s:o}", "name", name, "nodes", nodes));
		json_object_set_new(o, "policy", json_string(name));
	}
	if (several && im->first_gateway)
		import_end_report(im, "static",
			"changed: internal neighbours get the address of this router as next hop "
			"of static routes with several gateways");
	json_decref(all);
}
