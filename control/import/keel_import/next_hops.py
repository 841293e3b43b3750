# SPDX-License-Identifier: BSD-3-Clause
"""Next hops. BIRD and FRR advertise the gateway of a static route to internal neighbours, and the next hop of a third router on the subnet of an external
neighbour. VRP does so only with `nexthop third-party`, which is not carried. keeld advertises its own address, unless a policy sets the next hop."""
import collections

from .document import value_of
from .policies import any_node
from .texts import is_six, packed


def _is_external(im, o, group):
    asn = value_of(o, group, "asn")
    return asn is not None and asn != im.router.get("asn")


def _in_each_family(o, group, key):
    """True if the key is true in each family."""
    mine, theirs = o.get("families", {}), (group or {}).get("families", {})
    return bool(mine or theirs) and all(value_of(mine.get(name), theirs.get(name), key) is True for name in mine.keys() | theirs.keys())


def _net(address):
    """Equal for two addresses that can be on one subnet; None: not known."""
    octets = packed(address or "")
    return octets and octets[:3 if len(octets) == 4 else 8]


def _redistributes_static(im):
    o = im.bgp.get("redistribute", {}).get("static")
    return o is not None and o.get("policy") != "deny-all"


class ThirdParties:
    """The neighbours and the gateways by their subnets; when the neighbours of the file are known."""

    def __init__(self, im):
        self.im = im
        self.peers = collections.Counter(_net(o["address"]) for o in im.bgp.get("peers", {}).values())
        self.gateways = {_net(o.get("next_hop")) for o in im.document.get("static_routes", ())} if _redistributes_static(im) else set()

    def verdict(self, peer, single_hop):
        """The verdict if an external neighbour gets the next hop of a third router on its subnet, or None. `single_hop`: the daemon does so only without
        multihop."""
        group, net = self.im.group_of(peer), _net(peer["address"])
        if not _is_external(self.im, peer, group) or (single_hop and value_of(peer, group, "multihop") is not None) or net is None or \
           value_of(peer, group, "route_server_client") is True or _in_each_family(peer, group, "next_hop_self") or \
           _in_each_family(peer, group, "next_hop_unchanged"):
            return None
        if self.peers[net] > 1:
            return "changed: routes of other neighbours on the same subnet get the address of this router as next hop"
        if net in self.gateways:
            return "changed: static routes through a gateway on the same subnet get the address of this router as next hop"
        return None


def report_third_parties(im):
    known = ThirdParties(im)
    for o in im.bgp.get("peers", {}).values():
        verdict = known.verdict(o, False)
        if verdict is not None:
            im.end_report(o["address"], verdict)


# ---- gateways of static routes ----


def _has_next_hop(node):
    """True if the node sets the next hop, or has a condition on the next hop."""
    return "next_hop" in node.get("set", ()) or "next_hop_prefix_list" in node.get("match", ())


def _takes_gateways(im, o):
    """True if the neighbour or the group is internal, and advertises received next hops."""
    group = im.group_of(o)
    return value_of(o, group, "asn") is not None and not _is_external(im, o, group) and not _in_each_family(o, group, "next_hop_self")


def _is_transparent(im, o):
    """True if the neighbour is external, and gets next hops as keeld has them."""
    group = im.group_of(o)
    mine, theirs = o.get("families", {}), (group or {}).get("families", {})
    return _is_external(im, o, group) and (
        any(value_of(mine.get(name), theirs.get(name), "next_hop_unchanged") is True for name in mine.keys() | theirs.keys()) or
        value_of(o, group, "route_server_client") is True)


def _any_peer(im, test):
    return any(test(im, o) for home in ("peers", "groups") for o in im.bgp.get(home, {}).values())


def _gateways(im):
    """({gateway: [entries of a prefix list]} of the prefixes with one gateway, True if a prefix has several)."""
    routes, found, several = im.document.get("static_routes", ()), {}, False
    counts = collections.Counter(o["prefix"] for o in routes)
    for o in routes:
        gateway = o.get("next_hop")
        if gateway is None or "%" in gateway or is_six(gateway) != is_six(o["prefix"]):
            continue
        if counts[o["prefix"]] == 1:
            found.setdefault(gateway, []).append({"action": "permit", "prefix": o["prefix"]})
        else:
            several = True
    return found, several


def has_gateways(im):
    """True if a static route with one gateway is redistributed."""
    return _redistributes_static(im) and bool(_gateways(im)[0])


def _free_name(section, base):
    name, n = base, 2
    while name in section:
        name, n = "%s-%d" % (base, n), n + 1
    return name


def _gateway_nodes(im, found, policy):
    """The nodes of a policy that sets the gateways of the prefixes, and calls `policy` (None: none)."""
    lists, nodes, call = im.section("prefix_lists"), [], {} if policy is None else {"call": policy}
    n = 1
    for gateway, entries in found.items():
        name = "static-gateway" if n == 1 else "static-gateway-%d" % n
        while name in lists:
            n += 1
            name = "static-gateway-%d" % n
        lists[name] = {"name": name, "entries": entries}
        nodes.append({"seq": 10 * len(nodes) + 10, "action": "permit", "match": {"prefix_list": name}, **call, "set": {"next_hop": gateway}})
    return nodes + [{"seq": 10 * len(nodes) + 10, "action": "permit", **call}]


def set_gateways(im):
    """Sets the gateways of redistributed static routes as their next hops, for internal neighbours. Policies are complete."""
    if im.own_next_hop or not _redistributes_static(im) or not _any_peer(im, _takes_gateways):
        return
    o = im.bgp["redistribute"]["static"]
    policy = None if o.get("policy") == "accept-all" else o.get("policy")
    found, several = _gateways(im)
    if found and (any_node(im, policy, _has_next_hop) or _any_peer(im, _is_transparent)):
        im.end_report("static", "changed: internal neighbours get the address of this router as next hop of static routes, not the gateway")
    elif found:
        nodes, policies = _gateway_nodes(im, found, policy), im.section("route_policies")
        o["policy"] = name = _free_name(policies, "static-gateways")
        policies[name] = {"name": name, "nodes": nodes}
    if several and im.first_gateway:
        im.end_report("static", "changed: internal neighbours get the address of this router as next hop of static routes with several gateways")
