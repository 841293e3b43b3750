# SPDX-License-Identifier: BSD-3-Clause
"""The three route policies of the soft-reset benchmark, from ../shared if present, otherwise generated in the same shape, with changes; and their
translations into the languages of BIRD, FRR, GoBGP and OpenBGPD.

A policy document has Keel's form: prefix_lists, as_path_lists, community_lists, route_policies (one). Only its IPv4 part is translated. Unsupported
parts are left out and listed in `Translation.lacks`; then the daemon's counts differ slightly.
"""
import collections
import copy
import ipaddress
import json
import os
import random
import re
import zlib

Change = collections.namedtuple("Change", "key name policy before after expected")  # expected: {added, removed, changed}, or None
Translation = collections.namedtuple("Translation", "text lacks")

# name in changes.json: policy; of the nine changes, these three compare the daemons
COMPARED = {"attributes: last node denies": "attributes", "prefixes: everything preferred differently": "prefixes",
            "mixed: two nodes turned round": "mixed"}


def patched(document, operations):
    """RFC 6902, the operations used in changes.json: add, replace, remove."""
    document = copy.deepcopy(document)
    for o in operations:
        at, keys = document, o["path"].split("/")[1:]
        for k in keys[:-1]:
            at = at[int(k) if isinstance(at, list) else k]
        k = keys[-1]
        if isinstance(at, list):
            k = len(at) if k == "-" else int(k)
            if o["op"] == "add":
                at.insert(k, o["value"])
                continue
        if o["op"] == "remove":
            del at[k]
        else:
            at[k] = o["value"]
    return document


def shared(folder):
    """All changes of ../shared/data/policies, with the expected counts for the table of gen_table.py."""
    out = []
    for c in json.load(open(os.path.join(folder, "changes.json"))):
        document = json.load(open(os.path.join(folder, c["file"])))
        expected = {k: c["expected"]["ipv4-unicast"][k] for k in ("added", "removed", "changed")}
        out.append(Change(COMPARED.get(c["name"]), c["name"], c["policy"], document, patched(document, c["patch"]), expected))
    return out


# ---- policies of the same shape, for a generated table ----

def permits(kind, values):
    return [{"action": "permit", kind: v} for v in values]


def node(seq, action, match=None, **set_):
    return dict({"seq": seq, "action": action, "match": match or {}}, **({"set": set_} if set_ else {}))


def generated(prefixes, asn, seed=1):
    """`prefixes`: some thousands of the table's; `asn`: its first AS. Deciding conditions: whole attribute sets by AS path; prefixes by two long
    lists; both."""
    rng = random.Random(seed)
    paths = [{"name": "private-as", "entries": permits("regex", ["_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-4][0-9][0-9])_"])},
             {"name": "one-hop", "entries": permits("regex", ["^[0-9]+ [0-9]+$", "^[0-9]+$"])},
             {"name": "as4-origin", "entries": permits("regex", ["_[0-9][0-9][0-9][0-9][0-9][0-9]+$"])},
             {"name": "via-large", "entries": permits("regex", ["^[0-9]+_(174|1299|2914)_"])}]
    bogons = {"name": "bogons", "entries": [{"action": "permit", "prefix": p, "ge": int(p.split("/")[1]), "le": 32} for p in ("10.0.0.0/8", "127.0.0.0/8", "192.168.0.0/16")]}
    customers = {"name": "customers", "entries": permits("prefix", rng.sample(prefixes, min(5000, len(prefixes) // 200)))}
    attributes = [node(10, "deny", {"as_path_list": "private-as"}), node(20, "permit", {"as_path_list": "one-hop"}, local_pref=200, communities={"add": ["64512:100"]}),
                  node(30, "permit", {"as_path_list": "as4-origin"}, local_pref=150), node(1000, "permit", local_pref=100)]
    by_prefix = [node(10, "deny", {"prefix_list": "bogons"}), node(30, "permit", {"prefix_list": "customers"}, local_pref=200, communities={"add": ["64512:200"]}),
                 node(1000, "permit", local_pref=100)]
    mixed = [node(10, "deny", {"prefix_list": "bogons"}), node(20, "deny", {"as_path_list": "private-as"}),
             node(40, "permit", {"prefix_list": "customers", "as_path_list": "as4-origin"}, local_pref=250, communities={"add": ["64512:250"]}),
             node(60, "deny", {"as_path_list": "via-large"}), node(1000, "permit", local_pref=100, communities={"add": ["64512:1"]})]

    def document(name, nodes, prefix_lists, path_lists):
        return {"prefix_lists": prefix_lists, "as_path_lists": path_lists, "community_lists": [], "route_policies": [{"name": name, "nodes": nodes}]}
    made = {"attributes": document("attributes-only", attributes, [], paths), "prefixes": document("prefix-heavy", by_prefix, [bogons, customers], []),
            "mixed": document("mixed", mixed, [bogons, customers], paths)}
    operations = {"attributes": [{"op": "replace", "path": "/route_policies/0/nodes/3/action", "value": "deny"}, {"op": "remove", "path": "/route_policies/0/nodes/3/set"}],
                  "prefixes": [{"op": "replace", "path": "/route_policies/0/nodes/2/set/local_pref", "value": 101}],
                  "mixed": [{"op": "replace", "path": "/route_policies/0/nodes/3/action", "value": "permit"}]}
    return [Change(k, k, d["route_policies"][0]["name"], d, patched(d, operations[k]), None) for k, d in made.items()]


# ---- prefix lists ----

def lengths(entry):
    """The lengths matched by an entry (keel-policy(7))."""
    own, ge, le = ipaddress.ip_network(entry["prefix"]).prefixlen, entry.get("ge"), entry.get("le")
    if ge is None and le is None:
        return own, own
    return (own if ge is None else ge), (32 if le is None else le)


def v4(entries):
    return [e for e in entries if ":" not in e["prefix"]]


def names(value):
    return value if isinstance(value, list) else [value]


def v4_nodes(document):
    """Nodes that can match an IPv4 route."""
    has = {p["name"]: bool(v4(p["entries"])) for p in document["prefix_lists"]}
    return [n for n in document["route_policies"][0]["nodes"] if any(has[x] for x in names(n["match"].get("prefix_list", []))) or "prefix_list" not in n["match"]]


# ---- BIRD ----

# BIRD 2.0 has masks and sets of AS numbers instead of regular expressions.
BIRD_PATHS = {
    "_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-4][0-9][0-9]|655[0-2][0-9]|6553[0-5])_": "bgp_path ~ [64512..65535]",
    "_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-4][0-9][0-9])_": "bgp_path ~ [64512..65499]",
    "_(42[0-8][0-9][0-9][0-9][0-9][0-9][0-9][0-9]|4294967295|23456|0)_": "bgp_path ~ [4200000000..4289999999, 4294967295, 23456, 0]",
    "^[0-9]+" + " [0-9]+" * 11: "bgp_path ~ [= " + "? " * 12 + "* =]",
    "^3356 [0-9]+$": "bgp_path ~ [= 3356 ? =]",
    "^3356 ([0-9]+) [0-9]+ [0-9]+ [0-9]+ [0-9]+$": "bgp_path ~ [= 3356 ? ? ? ? ? =]",
    "^[0-9]+_(174|1299|2914)_": "bgp_path ~ [= ? [174, 1299, 2914] * =]",
    "_(4134|4837|9808|4766|9318|4713|17676|9829|45609|24560)_": "bgp_path ~ [4134, 4837, 9808, 4766, 9318, 4713, 17676, 9829, 45609, 24560]",
    "_(3320|7922|701|7018|6830)$": "bgp_path ~ [= * [3320, 7922, 701, 7018, 6830] =]",
    "_(3320|7922|701|7018|6830) [0-9]+$": "bgp_path ~ [= * [3320, 7922, 701, 7018, 6830] ? =]",
    "_(11537|20965|2603|680|786|1103|2200|137)_": "bgp_path ~ [11537, 20965, 2603, 680, 786, 1103, 2200, 137]",
    "_[0-9][0-9][0-9][0-9][0-9][0-9]+$": "bgp_path ~ [= * [100000..4294967295] =]",
    "^[0-9]+ [0-9]+$": "bgp_path ~ [= ? ? =]", "^[0-9]+$": "bgp_path ~ [= ? =]"}


ONE_AS = re.compile("_([0-9]+)_$")
ORIGINS = re.compile(r"\^([0-9]+)\(_\[0-9\]\+\)\*_\(([0-9|]+)\)\$$")  # a line of bgpq4: from a neighbour, with one of these origins


def bird_path(entries):
    """The condition for entries of one action; AS numbers of alike entries become one set."""
    containing, origins, others = [], {}, []
    for e in entries:
        one, several = ONE_AS.match(e["regex"]), ORIGINS.match(e["regex"])
        if one:
            containing.append(one.group(1))
        elif several:
            origins.setdefault(several.group(1), []).extend(several.group(2).split("|"))
        else:
            others.append(BIRD_PATHS[e["regex"]])
    sets = ["bgp_path ~ [%s]" % ", ".join(containing)] if containing else []
    sets += ["(bgp_path.first = %s && bgp_path.last ~ [%s])" % (first, ", ".join(asns)) for first, asns in origins.items()]
    return " || ".join(sets + others)


def pair(community):
    return "(%s, %s)" % tuple(community.split(":"))


def bird_net(entry):
    return "%s{%d,%d}" % ((entry["prefix"],) + lengths(entry))


def runs(entries):
    """Adjacent entries with the same action."""
    out = []
    for e in entries:
        if not out or out[-1][0] != e["action"]:
            out.append((e["action"], []))
        out[-1][1].append(e)
    return out


def denies_first(entries):
    """Orders a long list with scattered denies into denies, then permits. Few denies follow an overlapping permit (2 of 404 in `customers`)."""
    return sorted(entries, key=lambda e: e["action"] != "deny") if len(runs(entries)) > 8 else entries


def bird_function(owner, prefix, name, entries, condition):
    body = "".join("  if %s then return %s;\n" % (condition(group), "true" if action == "permit" else "false") for action, group in runs(entries))
    return "function %s_%s_%s() {\n%s  return false;\n}\n" % (owner, prefix, name.replace("-", "_"), body)


def bird(name, document):
    lacks, out = set(), []
    for p in document["prefix_lists"]:
        if v4(p["entries"]):
            out.append(bird_function(name, "net", p["name"], denies_first(v4(p["entries"])), lambda g: "net ~ [%s]" % ", ".join(map(bird_net, g))))
    for p in document["as_path_lists"]:
        known = [e for e in p["entries"] if e["regex"] in BIRD_PATHS or ONE_AS.match(e["regex"]) or ORIGINS.match(e["regex"])]
        lacks |= {e["regex"] for e in p["entries"]} - {e["regex"] for e in known}
        out.append(bird_function(name, "path", p["name"], known, bird_path))
    for p in document["community_lists"]:
        out.append(bird_function(name, "comm", p["name"], p["entries"], lambda g: "bgp_community ~ [%s]" % ", ".join(pair(e["community"]) for e in g)))
    out.append("filter %s {\n" % name)
    for n in v4_nodes(document):
        conditions = ["(%s)" % " || ".join("%s_%s_%s()" % (name, f, x.replace("-", "_")) for x in names(n["match"][k]))
                      for k, f in (("prefix_list", "net"), ("as_path_list", "path"), ("community_list", "comm")) if k in n["match"]]
        s, actions = n.get("set", {}), []
        for key, theirs in (("local_pref", "bgp_local_pref"), ("med", "bgp_med")):
            if key in s:
                actions.append("%s = %d;" % (theirs, s[key]))
        actions += ["bgp_community.add(%s);" % pair(c) for c in s.get("communities", {}).get("add", [])]
        if "as_path_prepend" in s:
            actions += ["bgp_path.prepend(%d);" % s["as_path_prepend"]["asn"]] * s["as_path_prepend"]["count"]
        actions.append("accept;" if n["action"] == "permit" else "reject;")
        out.append("  if %s then { %s }\n" % (" && ".join(conditions) or "true", " ".join(actions)))
    return Translation("".join(out) + "  reject;\n}\n", lacks)


# ---- FRR ----

def frr_range(entry):
    (low, high), own = lengths(entry), ipaddress.ip_network(entry["prefix"]).prefixlen
    if low == high == own:
        return ""
    return (" ge %d" % low if low > own else "") + (" le %d" % high if high > low or low == own else "")


def list_name(entries):
    """A name by content: FRR 8.4 takes minutes for a prefix list of 5,000 entries, so an existing list is not sent again."""
    return "l%08x" % zlib.crc32(json.dumps(entries).encode())


def frr_lists(document):
    """{name: lines}"""
    out = {}
    for p in document["prefix_lists"]:
        n = list_name(p["entries"])
        out[n] = ["ip prefix-list %s seq %d %s %s%s" % (n, i + 1, e["action"], e["prefix"], frr_range(e)) for i, e in enumerate(v4(p["entries"]))]
    for p in document["as_path_lists"]:
        n = list_name(p["entries"])
        out[n] = ["bgp as-path access-list %s %s %s" % (n, e["action"], e["regex"]) for e in p["entries"]]
    for p in document["community_lists"]:
        n = list_name(p["entries"])
        out[n] = ["bgp community-list standard %s seq %d %s %s" % (n, i + 1, e["action"], e["community"]) for i, e in enumerate(p["entries"])]
    return out


def frr_route_map(name, document):
    named = {(k, p["name"]): list_name(p["entries"]) for k in ("prefix_list", "as_path_list", "community_list") for p in document[k + "s"]}
    out = []
    for n in v4_nodes(document):
        out.append("route-map %s %s %d" % (name, n["action"], n["seq"]))
        for k, theirs in (("prefix_list", "ip address prefix-list"), ("as_path_list", "as-path"), ("community_list", "community")):
            if k in n["match"]:
                out.append(" match %s %s" % (theirs, named[k, names(n["match"][k])[0]]))
        s = n.get("set", {}) if n["action"] == "permit" else {}
        out += [" set local-preference %d" % s["local_pref"]] if "local_pref" in s else []
        out += [" set metric %d" % s["med"]] if "med" in s else []
        out += [" set community %s additive" % " ".join(s["communities"]["add"])] if "communities" in s else []
        if "as_path_prepend" in s:
            out.append(" set as-path prepend" + " %d" % s["as_path_prepend"]["asn"] * s["as_path_prepend"]["count"])
        out.append("exit")
    return out


# ---- GoBGP ----

def quoted(values):
    return "[%s]" % ", ".join(json.dumps(v) for v in values)


def gobgp(name, document, neighbors=None):
    """GoBGP's sets have no deny entries: such entries are left out. `neighbors`: a set of the policy's neighbours."""
    out, lacks = [], set()

    def entries(p, kind):
        lacks.update("deny entries of %s" % p["name"] for e in p["entries"] if e["action"] == "deny")
        return [e for e in (v4(p["entries"]) if kind == "prefix" else p["entries"]) if e["action"] == "permit"]
    for p in document["prefix_lists"]:
        if v4(p["entries"]):
            out += ["[[defined-sets.prefix-sets]]", 'prefix-set-name = "%s-%s"' % (name, p["name"]), "prefix-list = [%s]" % ", ".join(
                '{ip-prefix = "%s", masklength-range = "%d..%d"}' % ((e["prefix"],) + lengths(e)) for e in entries(p, "prefix"))]
    for p in document["as_path_lists"]:
        out += ["[[defined-sets.bgp-defined-sets.as-path-sets]]", 'as-path-set-name = "%s-%s"' % (name, p["name"]),
                "as-path-list = " + quoted(e["regex"] for e in entries(p, "as"))]
    for p in document["community_lists"]:
        out += ["[[defined-sets.bgp-defined-sets.community-sets]]", 'community-set-name = "%s-%s"' % (name, p["name"]),
                "community-list = " + quoted("^%s$" % e["community"] for e in entries(p, "community"))]
    out += ["[[policy-definitions]]", 'name = "%s"' % name]
    for n in v4_nodes(document):
        out += ["[[policy-definitions.statements]]", 'name = "%s-%d"' % (name, n["seq"])]
        if neighbors:
            out += ["[policy-definitions.statements.conditions.match-neighbor-set]", 'neighbor-set = "%s"' % neighbors]
        if "prefix_list" in n["match"]:
            out += ["[policy-definitions.statements.conditions.match-prefix-set]", 'prefix-set = "%s-%s"' % (name, names(n["match"]["prefix_list"])[0])]
        for k, section, key in (("as_path_list", "match-as-path-set", "as-path-set"), ("community_list", "match-community-set", "community-set")):
            if k in n["match"]:
                out += ["[policy-definitions.statements.conditions.bgp-conditions.%s]" % section, '%s = "%s-%s"' % (key, name, names(n["match"][k])[0])]
        s = n.get("set", {})
        out += ["[policy-definitions.statements.actions]", 'route-disposition = "%s"' % ("accept-route" if n["action"] == "permit" else "reject-route")]
        if "local_pref" in s or "med" in s:
            out.append("[policy-definitions.statements.actions.bgp-actions]")
            out += ["set-local-pref = %d" % s["local_pref"]] if "local_pref" in s else []
            out += ['set-med = "%d"' % s["med"]] if "med" in s else []
        if "communities" in s:
            out += ["[policy-definitions.statements.actions.bgp-actions.set-community]", 'options = "add"',
                    "[policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]", "communities-list = " + quoted(s["communities"]["add"])]
        if "as_path_prepend" in s:
            out += ["[policy-definitions.statements.actions.bgp-actions.set-as-path-prepend]", "repeat-n = %d" % s["as_path_prepend"]["count"],
                    'as = "%d"' % s["as_path_prepend"]["asn"]]
    return Translation("\n".join(out) + "\n", lacks)


# ---- OpenBGPD ----

def openbgpd_net(entry):
    low, high = lengths(entry)
    own = ipaddress.ip_network(entry["prefix"]).prefixlen
    return entry["prefix"] + ("" if low == high == own else " prefixlen %d - %d" % (low, high) if low < high else " prefixlen = %d" % low)


def openbgpd(direction, document):
    """Only policies on prefixes: OpenBGPD has no expressions over AS paths. A prefix-set has no deny entries; an entry becomes a separate rule if
    the set cannot express its lengths. None: not expressible. `direction`: "from" or "to", with the peer."""
    lacks, out, sets = set(), [], {}
    owner = direction.replace(" ", "-").replace('"', "")
    if document["as_path_lists"] or document["community_lists"]:
        return None
    for p in document["prefix_lists"]:
        lacks.update("deny entries of %s" % p["name"] for e in p["entries"] if e["action"] == "deny")
        entries = [e for e in v4(p["entries"]) if e["action"] == "permit"]
        sets[p["name"]] = entries
        if len(entries) > 20:
            out += ["prefix-set \"%s-%s\" {" % (owner, p["name"])] + ["\t" + openbgpd_net(e) for e in entries] + ["}"]
    for n in v4_nodes(document):
        s = n.get("set", {})
        actions = (["localpref %d" % s["local_pref"]] if "local_pref" in s else []) + ["community %s" % c for c in s.get("communities", {}).get("add", [])]
        rule = "%s quick %s" % ("allow" if n["action"] == "permit" else "deny", direction)
        tail = " set { %s }" % " ".join(actions) if actions else ""
        name = names(n["match"].get("prefix_list", [None]))[0]
        if name is None:
            out.append(rule + tail)
        elif len(sets[name]) > 20:
            out.append("%s prefix-set \"%s-%s\"%s" % (rule, owner, name, tail))
        else:
            out += ["%s prefix %s%s" % (rule, openbgpd_net(e), tail) for e in sets[name]]
    return Translation("\n".join(out) + "\ndeny quick %s\n" % direction, lacks)
