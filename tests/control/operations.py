# SPDX-License-Identifier: BSD-3-Clause
"""Random operations on a running keeld, as a table: OPERATIONS, and KEYS for the keys of the document. tests/README.md says how a feature adds its own.

An operation is a list of JSON values: its name and all that was drawn. So a sequence of operations can be printed, shortened and repeated. `draw`
reads the model alone, never keeld: the same seed gives the same operations on every machine."""
import copy
import ipaddress
import json
import os
import re

import wire
from wire import V4, V6, VPN

ASN = 64512
US = {V4: "192.0.2.1", V6: "2001:db8::1"}
PORTS = (["192.0.2.1/24", "2001:db8::1/64"], ["198.51.100.1/24", "2001:db8:1::1/64"])
INSTANCE_PORT = ["10.20.0.1/24", "2001:db8:20::1/64"]  # of k2, which comes, goes and moves between instances
VLAN_PORT = ["10.21.0.1/24", "2001:db8:21::1/64"]  # of v5, on a VLAN of k1 or k2
SECOND = ("2001:db8:1::1/64", "2001:db8:1::99/64")  # the IPv6 addresses of k1
PREFIXES = {
    V4: ["0.0.0.0/0", "203.0.0.0/16", "203.0.113.0/24", "203.0.113.7/32", "198.18.0.0/15", "198.18.4.0/22", "198.18.5.0/24", "45.0.1.0/24", "45.0.2.0/24",
         "45.0.0.0/16", "192.0.2.0/25", "20.0.0.0/8"],
    VPN: ["64512:7 203.0.113.0/24", "64512:8 203.0.113.0/24", "64512:1 10.1.0.0/16", "64512:7 10.3.0.0/16", "65001:9 10.3.1.0/24"],
    V6: ["::/0", "2001:db8:100::/48", "2001:db8:100:1::/64", "2001:db8:200::/48", "2a00::/16", "2001:db8::/33"],
}
FAMILIES = (V4, V6, VPN)
VRFS = [{"name": "red", "rd": "64512:1", "import_targets": ["64512:7"], "export_targets": ["64512:7"]},
        {"name": "blue", "rd": "64512:2", "import_targets": ["64512:8"], "export_targets": ["64512:8", "64512:9"]}]
INSIDE = {"red": ["10.1.0.0/16", "10.2.0.0/16", "2001:db8:a::/48"], "blue": ["10.4.0.0/16", "10.5.0.0/16", "2001:db8:b::/48"]}  # prefixes of their own routes
CE = "10.20.0.2"  # a router behind k2, whose session is in an instance
INSIDE_HOPS = {4: CE, 6: "2001:db8:20::2"}
TARGETS = [["64512:7"], ["64512:8"], ["64512:8", "64512:7"], ["64512:9"], None]
POLICY_TEXTS = ["policy f1 { accept; }\n", "policy f1 { if net ~ [203.0.0.0/16+] then reject; local_pref = 300; accept; }\n",
                "policy f1 { if path ~ [65100] then { med = 9; } add (64512, 3); accept; }\n"]
POLICIES = ["p1", "p2", "p3", "f1", "accept-all", "accept-all", "deny-all"]
COMMUNITIES = ["64512:1", "64512:2", "65000:7", "no-export", "no-advertise", "blackhole", "65535:0", "65535:65284", "65535:6", "65535:7", "65535:65283"]
FLAG = [True, None]


class Router:
    """A peer of keeld, as the operations have made it: what it announces now."""

    def __init__(self, address, asn, **keys):
        self.address, self.asn, self.keys = address, asn, keys
        self.internal = asn == ASN
        self.families = FAMILIES if self.internal or address == "192.0.2.3" else (V4, V6)  # that it offers
        link, _, host = address.rpartition(".")
        self.six = "2001:db8:%s::%s" % ({"192.0.2": "0", "198.51.100": "1", "10.20.0": "20"}[link], host)
        self.vrf = keys.get("vrf")  # at the begin; None: never in an instance
        self.restart = 0  # restart time (RFC 4724) of its next session; 0: without the capability
        self.announced = {}  # (family, prefix) -> (route, next hop)


class Model:
    """The document in force, the candidate, the commits before, the routers, and what is around keeld: links, routes of the kernel, files, records of
    the RPKI cache."""

    def __init__(self, shards=1, dataplane=False):
        self.routers = {r.address: r for r in (
            Router("192.0.2.2", 64513, group="transit"), Router("192.0.2.3", 4200000001), Router("192.0.2.4", 65001, group="transit"),
            Router("192.0.2.5", ASN), Router("192.0.2.6", ASN, route_reflector_client=True), Router("198.51.100.2", 3320),
            Router("198.51.100.3", ASN, link_sensitive=True), Router("192.0.2.7", 65020), *([Router(CE, 65030, vrf="red")] if dataplane else []))}
        both = {f: {} for f in FAMILIES}
        unicast = {f: {"import_policy": "accept-all", "export_policy": "accept-all"} for f in (V4, V6)}
        open_ = {f: {"import_policy": "accept-all", "export_policy": "accept-all"} for f in FAMILIES}
        self.document = {
            "router": {"asn": ASN, "router_id": US[V4]}, "vrfs": copy.deepcopy(VRFS), "dataplane": {"rib_threads": shards}, "policy_files": ["f.policy"],
            "prefix_lists": [{"name": "n1", "entries": entries(PREFIXES[V4][2:5])}, {"name": "n2", "entries": entries(PREFIXES[V4][6:8] + PREFIXES[V6][1:3])}],
            "as_path_lists": [{"name": "a1", "entries": [{"action": "permit", "regex": "_65100_"}]}],
            "ext_community_lists": [{"name": "e1", "entries": [{"action": "permit", "ext_community": "rt:64512:7"}]}],
            "community_lists": [{"name": "c1", "entries": [{"action": "permit", "community": "64512:1"}]}],
            "route_policies": [{"name": "p" + i, "nodes": [{"seq": 100, "action": "permit"}]} for i in "123v"],
            "bgp": {
                "groups": [{"name": "transit", "families": copy.deepcopy(open_)}],
                "peers": [dict({"address": r.address, "asn": r.asn, "passive": True, "families": copy.deepcopy(unicast if r.vrf else both if r.internal or "group" in r.keys else open_)},
                               **r.keys) for r in self.routers.values() if r.address != "192.0.2.7"]}}
        if dataplane:
            self.document["dataplane"].update(worker_cpus=[1], control_cpus=[0], memory_mb=448, idle="adaptive")
            self.document["ports"] = [{"name": "k%d" % i, "device": "net_af_xdp%d,iface=k%d" % (i, i), "addresses": a} for i, a in enumerate(PORTS)]
        next(p for p in self.document["bgp"]["peers"] if p["address"] == "198.51.100.2")["families"][V4]["max_prefixes"] = {"limit": 4, "action": "discard"}
        self.peers = {p["address"]: copy.deepcopy(p) for p in self.document["bgp"]["peers"]}
        self.other = False  # k1 has its other IPv6 address
        self.kernel, self.down, self.roas, self.files = set(), set(), [], {"f.policy": POLICY_TEXTS[0]}
        self.draft = copy.deepcopy(self.document)
        self.commits = []  # of the running keeld: (id, document)
        self.sessions = None, {}  # the document, and the families of each session in it

    def up(self, address):
        """Families of the session that this peer is to have; none: no session."""
        if self.sessions[0] is not self.document:
            bgp = self.document["bgp"]
            groups = {g["name"]: g for g in bgp.get("groups", [])}
            found = {a: self.families(groups[x["group"]]) for x in bgp.get("listen_ranges", []) for a in self.routers if a.startswith("192.0.2.")}
            found.update({p["address"]: self.families(merged(groups.get(p.get("group"), {}), p)) for p in bgp["peers"]})
            self.sessions = self.document, found
        if self.down and address.startswith("198.51.100.") or address == CE and not self.attached():
            return []
        return [f for f in self.sessions[1].get(address, []) if f in self.routers[address].families]

    def attached(self):
        """The port in front of the router CE, where the session can be; None: there is none."""
        peer = next((p for p in self.document["bgp"]["peers"] if p["address"] == CE), {})
        port = next((p for p in self.document["ports"] if p["name"] == "k2"), {})
        return port if "vrf" in peer and peer["vrf"] == port.get("vrf") else None

    def discards(self, address):
        """Families of this peer with a limit above which announcements are dropped: the order of arrival decides which."""
        peer = next((p for p in self.document["bgp"]["peers"] if p["address"] == address), {})
        return [f for f, x in peer.get("families", {}).items() if x.get("max_prefixes", {}).get("action") == "discard"]

    @staticmethod
    def families(p):
        return [] if p.get("shutdown") else [f for f in FAMILIES if p.get("families", {V4: {}}).get(f, {"enabled": False}).get("enabled", True)]


def merged(a, b):
    return {k: merged(a[k], b[k]) if isinstance(a.get(k), dict) and isinstance(b.get(k), dict) else b.get(k, a.get(k)) for k in {**a, **b}}


def entries(prefixes, **keys):
    return [dict({"action": "permit", "prefix": p}, **keys) for p in prefixes]


NAMES = ("address", "name", "seq", "prefix", "source")  # of which one names an element of an array
ARRAYS = ("vrfs", "listen_ranges", "networks", "static_routes", "redistribute", "groups", "peers", "nodes")


def put(node, path, value):
    """Sets the value at `path`, whose words are keys, and names of elements of arrays; None removes it."""
    word = path[0]
    if isinstance(node, list):
        at = next((i for i, e in enumerate(node) if any(e.get(n) == word for n in NAMES)), None)
        if len(path) > 1:
            return put(node[at], path[1:], value) if at is not None else None
        if at is not None:
            node[at:at + 1] = [] if value is None else [value]
        elif value is not None:
            node.append(value)
    elif len(path) > 1:
        if value is not None or word in node:
            put(node.setdefault(word, [] if word in ARRAYS else {}), path[1:], value)
    elif value is None:
        node.pop(word, None)
    else:
        node[word] = value


# ---- keys of the document: (where, path, values); None: without the key. `*` is a family ----
KEYS = [
    ("peer group", "families/*/import_policy", POLICIES + ["pv", "pv"]),
    ("peer group", "families/*/export_policy", POLICIES),
    ("peer", "families/*/keep_all_routes", FLAG),
    ("peer", "families/*/allow_as_in", [1, 2, None]),
    ("peer", "families/*/default_originate", FLAG),
    ("external group", "families/*/next_hop_unchanged", FLAG),
    ("external", "families/*/remove_private_as", FLAG),
    ("external", "families/*/as_override", FLAG),
    ("peer", "families/*/send_communities", [False, None]),
    ("peer", "families/*/site_of_origin", ["soo:64512:9", None]),
    ("external", "families/ipv4-unicast/blackhole", [{"prefix_list": "n1"}, {"prefix_list": "n1", "min_length": 24, "community": "no-advertise"}, None]),
    ("peer", "families/*/enabled", [False, None, None]),
    ("peer", "families/*/max_prefixes", [{"limit": 3, "action": "warning"}, {"limit": 2, "action": "discard"}, {"limit": 100}, None]),
    ("peer", "families/*/max_prefixes_out", [{"limit": 2}, None]),
    ("internal", "families/*/next_hop_self", FLAG),
    ("internal", "route_reflector_client", FLAG),
    ("external", "route_server_client", FLAG),
    ("external", "enforce_first_as", [False, None]),
    ("peer", "allow_as_sets", [False, None]),
    ("external", "local_as", [64999, 205804, None]),
    ("external", "role", ["provider", "customer", "peer", "rs-server", None]),
    ("external", "group", ["transit", None]),
    ("external", "graceful_shutdown/honour", FLAG),
    ("peer", "graceful_shutdown/send", FLAG),
    ("peer", "shutdown", [True, None, None]),
    ("peer", "capabilities/extended_message", [False, None]),
    ("peer", "capabilities/enhanced_route_refresh", [False, None]),
    ("peer", "capabilities/extended_next_hop", FLAG),
    ("peer", "capabilities/graceful_restart", [False, None, None]),
    ("peer", "description", ["a", "b"]),
    ("", "bgp/graceful_shutdown", FLAG),
    ("", "bgp/max_paths", [1, 4, 64]),
    ("", "dataplane/ecmp_key", [1, 4294967295, None]),
    ("", "bgp/max_as_path_length", [4, None]),
    ("", "bgp/cluster_id", ["10.9.9.9", None]),
    ("", "bgp/resolve_via_default", FLAG),
    ("", "bgp/commit_hold_s", [0, 1]),
    ("", "bgp/policy_change_delay_s", [0, 0, 1]),
    ("", "bgp/listen_ranges/192.0.2.0%24", [{"prefix": "192.0.2.0/24", "group": "transit"}, None]),
    ("", "preference/external", [20, 150, None]),
    ("inside", "vrf", ["red", "blue"]),
    ("vrf", "import_targets", TARGETS),
    ("vrf", "export_targets", TARGETS),
    ("vrf", "import_policy", ["p1", "p3", None]),
    ("vrf", "export_policy", ["p2", "p3", None]),
    ("vrf", "rd", ["64512:1", "64512:3", "64512:4"]),
    ("vrf", "max_routes", [{"limit": 3, "action": "warning"}, None]),
    ("", "vrfs/blue", [VRFS[1], None]),
    ("", "bmp", [[{"address": "127.0.0.1", "port": 11019, "views": ["adj-in", "loc", "adj-out"]}], None]),
    ("peer", "timers/min_advertisement_s", [1, None, None, None]),
    ("peer", "timers/long_lived_stale_time", [600, None]),
    ("", "rpki", [{"caches": [{"address": "127.0.0.1", "port": 3323}]}, None]),
]


def numbers_of_peers():
    """The keys of a peer that are a number and have a line of keelctl. Not the hops: with them a session outlives its link, for the hold time."""
    with open(os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "control", "cli", "keelctl_settings.def")) as f:
        text = f.read()
    least = dict(re.findall(r'^WORD\("NUMBER", "([^"]+)", "(\d+) to ', text, re.M))
    rows = re.findall(r'^SETTING\(.+?, "(?:[^"]+ )?([^" ]+)", "[^"]*", SETS_NUMBER, "(\w+)", NULL, ', text, re.M)
    return [("peer", key, [int(least[word]) + 9, None]) for word, key in rows if key != "multihop"]


KEYS += numbers_of_peers()


def draw_key(r, m):
    where, path, values = r.choice([k for k in KEYS if k[0] != "inside" or CE in m.routers])
    value = r.choice(values)
    path = [w.replace("%24", "/24") for w in path.replace("*", r.choice((V4, V4, V6, VPN))).split("/")]
    kinds = where.split()
    routers = [a for a, x in m.routers.items() if "peer" in kinds or ("internal" if x.internal else "external") in kinds or "inside" in kinds and x.vrf]
    if "vrf" in kinds:
        path = ["vrfs", r.choice(list(INSIDE))] + path
    elif "group" in kinds and r.random() < 0.2:
        path = ["bgp", "groups", "transit"] + path
    elif routers:
        path = ["bgp", "peers", r.choice(routers)] + path
    return [path, value]


def draw_list(r, m):
    kind = r.randrange(3)
    if kind == 0:
        p = r.sample(PREFIXES[V4] + PREFIXES[V6], r.randrange(1, 5))
        how = r.choice(({}, {}, {"le": 32}))
        return [["prefix_lists", r.choice(("n1", "n2")), "entries"], [e for p in p for e in entries([p], **({} if ":" in p else how))]]
    if kind == 1:
        return [["as_path_lists", "a1", "entries"], [{"action": r.choice(("permit", "permit", "deny")), "regex": x} for x in
                                                      r.sample(["_65100_", "^64513", "^$", "_64512_", "65200$", "."], 2)]]
    return [["community_lists", "c1", "entries"], [{"action": "permit", "community": x} for x in r.sample(["64512:1", "64512:*", "no-export", "65000:7"], 2)]]


MATCHES = [
    lambda r: {"prefix_list": r.choice(("n1", "n2"))}, lambda r: {"as_path_list": "a1"}, lambda r: {"community_list": "c1"},
    lambda r: {"peer": r.choice(("192.0.2.2", "192.0.2.5", "198.51.100.2"))}, lambda r: {"origin": r.choice(("igp", "incomplete"))},
    lambda r: {"med": {"le": 10}}, lambda r: {"local_pref": {"ge": 101}}, lambda r: {"as_path_length": {"le": 2}},
    lambda r: {"source": r.choice(("external", "internal", "network", "static"))}, lambda r: {"next_hop_prefix_list": "n1"}, lambda r: {"family": V4},
    lambda r: {"ext_community_list": "e1"},
    lambda r: {"community_count": {"ge": 2}}, lambda r: {"first_as": "peer.asn"}, lambda r: {"any_as": 65100}, lambda r: {"not": {"prefix_list": "n1"}},
]
SETS = [
    lambda r: {"local_pref": r.choice((50, 200, {"add": 10}))}, lambda r: {"med": r.choice((5, {"subtract": 3}))}, lambda r: {"origin": "egp"},
    lambda r: {"communities": r.choice(({"add": ["64512:2"]}, {"replace": []}, {"remove": ["64512:*"]}, {"add": ["no-export"]}))},
    lambda r: {"large_communities": {"add": ["64512:1:1"]}}, lambda r: {"as_path_prepend": {"asn": r.choice((64512, 65100, "first")), "count": 2}},
    lambda r: {"next_hop": "192.0.2.2"},
]


def draw_node(r, m):
    node = {"seq": r.choice((10, 20, 100)), "action": r.choice(("permit", "permit", "permit", "deny"))}
    if r.random() < 0.8:
        node["match"] = r.choice(MATCHES)(r)
    if node["action"] == "permit" and r.random() < 0.7:
        node["set"] = r.choice(SETS)(r)
    policy = r.choice(("p1", "p2", "p3", "pv"))
    if policy == "pv" and r.random() < 0.7:
        node["match"] = {"validation": r.choice(("valid", "invalid", "not-found"))}
    return [["route_policies", policy, "nodes", node["seq"]], node if r.random() < 0.8 or node["seq"] == 100 else None]


def draw_own(r, m):
    family = r.choice((V4, V4, V6))
    p = r.choice(PREFIXES[family][1:])
    present = r.random() < 0.6
    kind = r.randrange(4)
    if kind == 3:  # of an instance
        name = r.choice(list(INSIDE))
        p = r.choice(INSIDE[name])
        if "ports" in m.document and r.random() < 0.4:
            return [["static_routes", p], {"prefix": p, "next_hop": INSIDE_HOPS[ipaddress.ip_network(p).version], "vrf": name}]
        return r.choice(([["bgp", "networks", p], {"prefix": p, "vrf": name} if present else None],
                         [["static_routes", p], {"prefix": p, "blackhole": True, "vrf": name} if present else None]))
    if kind == 0:
        return [["bgp", "networks", p], {"prefix": p} if present else None]
    if kind == 1:
        hop = r.choice([h for h in (("192.0.2.2", "198.51.100.2", "203.0.113.9") if family == V4 else ("2001:db8:0::2",)) if has_one_outcome(p, h)])
        return [["static_routes", p], r.choice(({"prefix": p, "next_hop": hop, "tag": 7}, {"prefix": p, "blackhole": True})) if present else None]
    source = r.choice(("static", "connected", "kernel"))
    return [["bgp", "redistribute", source], r.choice(({"source": source}, {"source": source, "policy": "p2"})) if present else None]


def draw_vlan(r, m):
    """A port on a VLAN of the second port, or of the third one, in an instance or in none."""
    parents = [p["name"] for p in m.draft["ports"] if p["name"] in ("k1", "k2")]
    vrf = r.choice(("red", "blue", None))
    port = {"name": "v5", "parent": r.choice(parents), "vlan": r.choice((5, 6, [5, 6])), "addresses": r.choice((VLAN_PORT, VLAN_PORT, VLAN_PORT[:1]))}
    port.update(r.choice(({}, {}, {"mtu": 1300}, {"mpls": True} if vrf is None else {})), **{"vrf": vrf} if vrf else {})
    return [["ports", "v5"], port if r.random() < 0.7 else None]


def draw_port(r, m):
    """The third port, in an instance or in none. It stays while it has a VLAN."""
    if r.random() < 0.4 or any(p.get("parent") == "k2" for p in m.draft["ports"]):
        return draw_vlan(r, m)
    port = {"name": "k2", "device": "net_af_xdp2,iface=k2", "addresses": r.choice((INSTANCE_PORT, INSTANCE_PORT, INSTANCE_PORT[:1]))}
    vrf = r.choice(("red", "blue", None))
    port.update(r.choice(({}, {}, {"mtu": 1400}, {"mpls": True} if vrf is None else {})), **{"vrf": vrf} if vrf else {})
    return [["ports", "k2"], port if r.random() < 0.7 else None]


# ---- routes ----
def draw_route(r, x):
    """Attributes of an announcement of router x, in the form of wire.encode()."""
    path = [] if x.internal else [x.asn]
    path += r.choice(([], [65100], [65100, 65200], [3356, 65100, 1299], [ASN, 7], [64999], [4200000001], [64513, 64513], [23456], [3320]))
    route = {"origin": r.choice(wire.ORIGINS), "as_path": " ".join(map(str, path))}
    if r.random() < 0.1:
        route["as_path"] += " {65300,65301}"
    if r.random() < 0.5:
        route["med"] = r.choice((0, 5, 20))
    if x.internal:
        route["local_pref"] = r.choice((90, 100, 110))
        if r.random() < 0.3:
            route.update(originator_id=r.choice(("10.9.9.9", "192.0.2.1", "192.0.2.6")), cluster_list=r.choice((["10.9.9.9"], ["192.0.2.1"], ["10.8.8.8", "10.7.7.7"])))
    if r.random() < 0.5:
        route["communities"] = sorted(r.sample(COMMUNITIES, r.randrange(1, 4)))
    if r.random() < 0.15:
        route["large_communities"] = ["64512:1:%d" % r.randrange(2)]
    if r.random() < 0.15:
        route["ext_communities"] = [r.choice(("rt:64512:7", "soo:64512:9"))]
    if r.random() < 0.1:
        route["aggregator"] = {"asn": 65100, "address": "10.1.1.1"}
    if r.random() < 0.1:
        route["unknown"] = {r.choice(("35", "99")): r.choice(("0000fde9", "0000fc00"))}
    if r.random() < 0.05:  # faulty communities, MED: treated as withdrawn (RFC 7606)
        route["unknown"] = {r.choice(("8", "4")): "000102"}
    return route


def has_one_outcome(prefix, hop):
    """
    False: routes could depend on each other in a circle, and which of them wins is a matter of the order. A next hop inside announced prefixes is for
    lower prefixes, or for the one prefix that covers it; a default route, and a prefix of a part of a link, resolve by no announced prefix. While the
    second link is down, its addresses are next hops inside the prefix that covers it: this one resolves by itself or the first link alone.
    """
    hop, net = ipaddress.ip_address(hop), ipaddress.ip_network(prefix)
    links = [ipaddress.ip_interface(a).network for addresses in PORTS for a in addresses if ipaddress.ip_interface(a).version == hop.version]
    cover = [p for family in (V4, V6) for p in PREFIXES[family] if not p.endswith("/0") and hop in ipaddress.ip_network(p)]
    if net.prefixlen > 0 and any(net.version == link.version and link.subnet_of(net) for link in links):
        return hop in links[0] or (cover == [prefix] and hop not in links[1])
    if any(hop in link for link in links):
        return hop in links[0] or net.prefixlen > 0 or not cover
    if any(net.version == link.version and net.subnet_of(link) for link in links):
        return False  # next hops on the link resolve by it, and so may the routes by which it resolves
    if prefix in cover:
        return len(cover) == 1
    return not cover or (net.prefixlen > 0 and net.network_address < hop)


def draw_hop(r, x, family, prefixes):
    if family == VPN:
        return x.address if r.random() < 0.8 else "198.51.100.3"
    hops = {V4: ["192.0.2.2", "192.0.2.5", "198.51.100.3", "203.0.113.9", "203.0.113.7", "45.0.1.1", "20.0.0.9", "10.255.255.1", US[V4]],
            V6: ["2001:db8:0::2", "2001:db8:1::3", "2001:db8:100::1", "2001:db8:f::1", "2a00::9"]}[family]
    hops = [h for h in hops if all(has_one_outcome(p, h) for p in prefixes)]
    own = x.address if family == V4 else x.six
    return own if r.random() < 0.7 and (x.address == CE or all(has_one_outcome(p, own) for p in prefixes)) else r.choice(hops)


def draw_family(r, x):
    return r.choice((V4, V4, V6, VPN) if VPN in x.families else (V4, V4, V6))


def draw_announce(r, m):
    x = r.choice(list(m.routers.values()))
    family = draw_family(r, x)
    route = draw_route(r, x)
    if family == VPN:
        route["ext_communities"] = r.sample(["rt:64512:7", "rt:64512:8", "rt:64512:9"], r.choice((1, 1, 2)))
    prefixes = r.sample(PREFIXES[family], r.randrange(1, 4))
    return [x.address, family, prefixes, route, draw_hop(r, x, family, prefixes)]


def announce(run, address, family, prefixes, route, hop):
    x = run.model.routers[address]
    for p in prefixes:
        x.announced[family, p] = route, hop
    run.side.say(address, family, [announcement(family, prefixes, route, hop)])


def announcement(family, prefixes, route, hop):
    route = dict(route, unknown={int(k): bytes.fromhex(v) for k, v in route.get("unknown", {}).items()})
    if family == V4:
        return wire.update(wire.encode(route) + wire.next_hop(hop), prefixes)
    return wire.update(wire.mp_reach(family, [hop], prefixes) + wire.encode(route))


def draw_withdraw(r, m):
    x = r.choice(list(m.routers.values()))
    family = draw_family(r, x)
    return [x.address, family, r.sample(PREFIXES[family], r.randrange(1, 5))]


def withdraw(run, address, family, prefixes):
    for p in prefixes:
        run.model.routers[address].announced.pop((family, p), None)
    run.side.say(address, family, [withdrawal(family, prefixes)])


def withdrawal(family, prefixes):
    return wire.update(withdrawn=prefixes) if family == V4 else wire.update(wire.mp_unreach(family, prefixes))


# ---- commits ----
def edit(run, path, value, commit):
    put(run.model.draft, path, value)
    if commit:
        run.commit()


def draw_edit(draw):
    return lambda r, m: draw(r, m) + [r.random() < 0.6]


def rollback(run, back):
    """To one of the last commits."""
    if len(run.model.commits) > 1:
        run.rollback(run.model.commits[-1 - back % min(8, len(run.model.commits))])


def lose(run, address, how, idle):
    run.side.lose(address, how, idle)


def draw_peer(r, m):
    address = r.choice([a for a in m.peers])
    return [["bgp", "peers", address], r.choice((None, m.peers[address], m.peers[address]))]


def restarts(run, address, time_s):
    run.model.routers[address].restart = time_s


# ---- what is around keeld ----
def kernel(run, prefix, present):
    routes = run.model.kernel
    if (prefix in routes) != present:
        run.host("route %s %s via %s proto 200" % ("add" if present else "del", prefix, US[V6][:-1] + "2" if ":" in prefix else "192.0.2.2"))
        (routes.add if present else routes.remove)(prefix)


def link(run, up):
    """The second link, with two routers."""
    if up == bool(run.model.down):
        run.host("link set k1 %s" % ("up" if up else "down"))
        for a in [a for a in run.side.sessions if a.startswith("198.51.100.") and not up]:
            run.side.drop(run.side.sessions[a])  # no end of the connection reaches the router
        if up:  # the kernel has removed the address
            run.host("addr replace %s dev k1 nodad" % SECOND[run.model.other])
        run.model.down ^= {"k1"}


def address(run, other):
    """The IPv6 address of the second link is replaced, or comes back. Not of a port: each start sets the configured addresses."""
    if other != run.model.other and "ports" not in run.model.document:
        if not run.model.down:
            run.host("addr del %s dev k1" % SECOND[not other])
            run.host("addr replace %s dev k1 nodad" % SECOND[other])
        run.model.other = other


def file(run, text):
    run.file("f.policy", text)


def half(run, text, path, value):
    """A commit of another operator, while somebody edits the policy file: the text in force stays."""
    name = "f.policy"
    run.write(name, text)
    edit(run, path, value, True)
    run.write(name, run.model.files[name])


def draw_roas(r, m):
    return [[[p, r.choice((ipaddress.ip_network(p).prefixlen, 64 if ":" in p else 32)), r.choice((64513, 65100, 64999))]
             for p in r.sample(PREFIXES[V4][1:5] + PREFIXES[V6][1:3], r.randrange(1, 4))]]


def a_router(r, m):
    return [r.choice(list(m.routers))]


# name: (weight, draw(rng, model) -> what is drawn, do(run, *drawn))
OPERATIONS = {
    "announce": (30, draw_announce, announce),
    "withdraw": (8, draw_withdraw, withdraw),
    "key": (14, draw_edit(draw_key), edit),
    "node": (8, draw_edit(draw_node), edit),
    "list": (5, draw_edit(draw_list), edit),
    "own": (6, draw_edit(draw_own), edit),
    "discard": (1, lambda r, m: [], lambda run: run.discard()),
    "rollback": (2, lambda r, m: [r.randrange(8)], rollback),
    "confirm": (2, lambda r, m: [r.choice(("confirm", "commit", "rollback"))], lambda run, end: run.commit(confirm=end)),
    "reload": (1, lambda r, m: [], lambda run: run.reload()),
    "peer": (2, draw_edit(draw_peer), edit),
    "port": (3, draw_edit(draw_port), edit),
    "lose": (2, lambda r, m: a_router(r, m) + [r.choice(("close", "cease")), r.random() < 0.15], lose),
    "restarts": (1, lambda r, m: a_router(r, m) + [r.choice((0, 120))], restarts),
    "kill": (1, lambda r, m: [], lambda run: run.kill()),
    "forwarder": (2, lambda r, m: [r.random() < 0.5], lambda run, waits=True: run.end_forwarder(waits)),
    "kernel": (1, lambda r, m: [r.choice(("203.0.113.0/24", "45.0.0.0/16", "10.255.0.0/16")), r.random() < 0.6], kernel),
    "roas": (2, draw_roas, lambda run, roas: run.roas(roas, False)),
    "cache": (1, draw_roas, lambda run, roas: run.roas(roas, True)),
    "link": (1, lambda r, m: [r.random() < 0.6], link),
    "address": (1, lambda r, m: [r.random() < 0.5], address),
    "file": (1, lambda r, m: [r.choice(POLICY_TEXTS)], file),
    "half": (1, lambda r, m: [r.choice(POLICY_TEXTS + ["policy f1 {\n"])] + draw_key(r, m), half),
    "reset": (1, a_router, lambda run, a: run.side.reset(a)),
    "refresh": (2, lambda r, m: [r.choice(FAMILIES), r.choice(("import", "export"))],
                lambda run, family, direction: run.side.keel.call("bgp.refresh", {"family": family, "scope": "all", "direction": direction})),
    "ask": (2, lambda r, m: a_router(r, m) + [r.choice(FAMILIES)], lambda run, a, family: run.side.ask(a, family)),
    "settle": (4, lambda r, m: [], lambda run: run.settle()),
}


KNOWN = {}  # not drawn until the fault is mended: name -> what is wrong


def draw(r, model, known=False):
    """`known`: operations with known faults, too."""
    names = [n for n in OPERATIONS if (known or n not in KNOWN) and (n not in ("port", "forwarder") or "ports" in model.document)]
    name = r.choices(names, [OPERATIONS[n][0] for n in names])[0]
    return json.loads(json.dumps([name] + OPERATIONS[name][1](r, model)))


def do(run, operation):
    OPERATIONS[operation[0]][2](run, *operation[1:])
