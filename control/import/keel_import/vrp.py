# SPDX-License-Identifier: BSD-3-Clause
"""import vrp: the lines that `display current-configuration` of VRP prints. A line is carried if a key of keel.json has the same meaning."""
from . import keys, texts
from .document import NODE_MAX, accept_all, value_of
from .lines import (cluster_id, done, each_line, family_defaults, filter_line, leave_family, neighbour, network, next_hop, of_direction, prefix_entry,
                    take_entry)
from .rows import Rows, of_keys, put, put_number, put_word
from .texts import V4, V6

IDLE = frozenset(("sysname", "return", "quit", "clock", "header", "user-interface", "info-center"))
SOURCES = {"direct": "connected", "static": "static"}


def _prefix(address, length):
    """ADDRESS and LENGTH or MASK as a prefix; None: no prefix."""
    mask = texts.packed(length) if "." in length else None
    if mask is None:
        return texts.prefix("%s/%s" % (address, length))
    bits = "".join("{:08b}".format(octet) for octet in mask).rstrip("0")
    return None if "0" in bits else texts.prefix("%s/%d" % (address, len(bits)))


# ---- lists ----


def _prefix_list(im, name, first, rest):
    """NAME [index N] {permit | deny} ADDRESS LENGTH [greater-equal N] [less-equal N]"""
    taken = take_entry(im, "prefix_lists", name, [first] + rest, "index")
    if taken is None:
        return False
    n, action, words = taken
    entry = {"action": action, "prefix": _prefix(*words[:2]) if len(words) > 1 else None}
    return prefix_entry(im, name, n, entry, words[2:], {"greater-equal": "ge", "less-equal": "le"})


def _community_of(im, key, word):
    """The value of an entry; None, with the verdict: not carried."""
    if key == "regex":
        return word
    if key != "ext_community":
        return im.community(word, key == "large_community")
    target = texts.route_target(word)
    if target is None:
        im.lost('"%.32s" is no route target' % word)
    return target


def _value_list(im, section, key, name, words):
    """NAME [index N] {permit | deny} VALUE"""
    taken = take_entry(im, section, name, words, "index")
    if taken is None:
        return False
    n, action, words = taken
    if len(words) > 1:
        return im.entry_lost(section, name, "an entry takes one value")
    if words[0] == "internet":
        return im.entry_lost(section, name, '"internet" is every route')
    if len(words[0]) > 255:
        return im.entry_lost(section, name, "the expression is too long")
    text = _community_of(im, key, words[0])
    if text is None:
        return im.list_partial(section, name)
    return im.list_entry(section, name, n, {"action": action, key: text})


def _community_list(im, word, words):
    """[basic] NAME [index N] {permit | deny} VALUE; without `basic` the name is a number"""
    key = {"community-filter": "community", "large-community-filter": "large_community", "extcommunity-filter": "ext_community"}[word]
    basic = words[0] == "basic"
    name, values = words[basic], words[1 + basic:]
    n = texts.number(name)
    if not basic and (n is None or key == "large_community" or (key == "community" and n > 99)):
        return False
    if key == "ext_community":
        if len(words) < 4 or values[-2:-1] != ["rt"]:
            return False
        del values[-2]
    return _value_list(im, key + "_lists", key, name, values)


def _static_route(im, version, address, length, hop, rest):
    """ADDRESS LENGTH {NEXT-HOP | NULL0} [tag N] [description TEXT]"""
    o = {"prefix": _prefix(address, length)}
    if o["prefix"] is None:
        return False
    if hop in ("NULL0", "NULL", "Null0"):
        o["blackhole"] = True
    elif texts.is_address(hop):
        o["next_hop"] = hop
    else:
        return im.lost("write the address of the next hop")
    for at in range(0, len(rest), 2):
        if rest[at] not in ("tag", "description") or at + 1 == len(rest):
            return im.lost('keel.json has no key for "%.32s" of a route' % rest[at])
        if rest[at] == "tag":
            im.set_number(o, "tag", rest[at + 1])
        else:
            o["description"] = rest[at + 1]
    why = im.static_route(o)
    return why is None or im.say(why)


# ---- route policies ----


def _move_nodes(im, name, zero):
    """What is added to the numbers of the policy: the least number of a node is 0 in VRP, and 1 here."""
    policy = im.element("route_policies", im.name(name))
    if zero and "_moved" not in policy:
        policy["_moved"] = True
        for node in policy.get("nodes", ()):
            node["seq"] += 1
        policy["_places"] = {node["seq"]: node for node in policy.get("nodes", ())}
    return "_moved" in policy


def _route_policy(im, name, action, text):
    seq = texts.number(text)
    return seq is not None and seq <= NODE_MAX and im.open_node(name, seq + _move_nodes(im, name, seq == 0), action)


def _match_lists(key):
    """Names of lists; one of them must match."""
    def function(im, match, *words):
        names = words[0] if isinstance(words[0], list) else list(words)
        if not names or names[-1] == "whole-match" or key in match:
            return False
        names = [im.name(name) for name in names]
        match[key] = names if len(names) > 1 else names[0]
        return True
    return function


def _match_prefixes(family):
    """A prefix list, and its family: a name may stand for a list of each family."""
    def function(im, match, name):
        if "prefix_list" in match:
            return False
        im.node["_family"] = family
        match["prefix_list"] = im.name(name)
        return True
    return function


def _match_number(key):
    return lambda im, match, text: key not in match and im.set_number(match, key, text)


def _match_source(im, match, source):
    match["source"] = SOURCES[source]
    return True


IF_MATCH = Rows(
    ("ip-prefix *", _match_prefixes(V4)),
    ("ipv6 address prefix-list *", _match_prefixes(V6)),
    ("as-path-filter [...]", _match_lists("as_path_list")),
    ("community-filter [...]", _match_lists("community_list")),
    ("large-community-filter [...]", _match_lists("large_community_list")),
    ("extcommunity-filter [...]", _match_lists("ext_community_list")),
    ("ip next-hop ip-prefix *", _match_lists("next_hop_prefix_list")),
    ("cost *", _match_number("med")),
    ("tag *", _match_number("tag")),
    ("rpki origin-as-validation (valid|invalid|not-found)", put_word("validation")),
    ("protocol (direct|static)", _match_source),
)


def _apply_cost(im, changes, text):
    return text[0] in "0123456789" and im.set_number(changes, "med", text)


def _apply_communities(im, changes, word, words):
    key, last = ("communities" if word == "community" else "large_communities"), words[-1:]
    if not words or (word == "large-community" and last not in (["additive"], ["overwrite"])):
        return False
    return im.set_communities(changes, key, words[:-1] if word == "large-community" and last == ["overwrite"] else words)


def _apply_path(im, changes, words):
    return len(words) > 1 and words[-1] == "additive" and im.prepend(changes, words[:-1])


APPLY = Rows(
    ("local-preference *", put_number("local_pref")),
    ("cost *", _apply_cost),
    ("tag *", put_number("tag")),
    ("origin (igp|incomplete)", put_word("origin")),
    ("(community|large-community) [...]", _apply_communities),
    ("ip-address|ipv6 next-hop *", next_hop),
    ("as-path [...]", _apply_path),
)


def _policy_line(im, words):
    if words[0] == "apply" and len(words) > 1:
        return APPLY.read(words[1:], im, im.node.setdefault("set", {}))
    if words[0] == "description" and len(words) > 1:
        im.node["description"] = words[1]
        return True
    if words[0] == "if-match" and len(words) > 2 and IF_MATCH.read(words[1:], im, im.node.setdefault("match", {})) and not im.is_lost:
        return True
    if not im.wider_node():
        return False
    if words[0] == "goto":  # the node becomes a deny
        im.node["_goto"] = 0
        return im.lost("node %d denies" % im.node["seq"])
    return True


# ---- families of a peer ----


def _route_limit(im, f, text, words):
    """N [PERCENT] {alert-only | idle-forever | idle-timeout MINUTES | discard}"""
    limit, said, at = {"action": "discard"}, False, 0  # said: what happens at the limit
    if not im.set_number(limit, "limit", text) or im.is_lost:
        return False
    f["max_prefixes"] = limit
    while at < len(words):
        word, minutes = words[at], texts.number(words[at + 1]) if at + 1 < len(words) else None
        said = said or word[0] > "9"
        limit.pop("restart_s", None)
        if word in ("alert-only", "discard"):  # with alert-only VRP accepts no further routes
            limit["action"] = "discard"
        elif word == "idle-forever":
            limit["action"] = "shutdown"
        elif word == "idle-timeout" and minutes:
            limit["action"] = "shutdown"
            im.set_restart(limit, minutes)
            at += 1
        elif at == 0:
            im.set_number(limit, "threshold_percent", word)
        else:
            return False
        at += 1
    return said or im.lost("write alert-only, idle-forever or idle-timeout")


FILTERS = {"ip-prefix": "prefix_list", "ipv6-prefix": "prefix_list", "as-path-filter": "as_path_list"}


def _public_as(im, f):
    f["remove_private_as"] = True
    return im.changed("private AS numbers are removed from all paths")


def _communities(im, f):
    f["send_communities"] = True
    return im.changed("communities of all kinds are sent")


FAMILY = Rows(
    ("public-as-only", _public_as),
    ("route-policy * (import|export)", of_direction("import")),
    ("reflect-client", put("_route_reflector_client")),
    ("allow-as-loop * * [...]", lambda im, f, text, first, rest: im.set_number(f, "allow_as_in", text)),
    ("advertise-community|advertise-ext-community|advertise-large-community", _communities),
    ("route-limit * [...]", _route_limit),
    *of_keys(keys.VRP_FAMILY),
)


def _family_line(im, o, words):
    f = im.family_made(o)
    if len(words) > 1 and words[0] != "route-policy" and words[-1] in ("import", "export"):
        return filter_line(im, f, words, FILTERS, "import")
    return FAMILY.read(words, im, f)


# ---- peers ----


def _connect_interface(im, o, interface, address=None):
    if address is None:
        return im.lost("write the address of interface %.32s" % interface)
    if not texts.is_address(address):
        return None
    o["source"] = address
    return True


PEER = Rows(
    ("password simple *", lambda im, o, text: im.set_password(o, text)),
    ("password * * [...]", lambda im, o, word, text, rest: im.lost("write the key of the session; this one is encrypted")),
    ("connect-interface * *", _connect_interface),
    ("connect-interface *", _connect_interface),
    ("capability-advertise route-refresh", done),
    ("timer keepalive * hold *", lambda im, o, keepalive, hold: im.set_timers(o.setdefault("timers", {}), keepalive, hold)),
    *of_keys(keys.VRP_PEER),
)


def _peer_line(im, name, what, words):
    address = texts.is_address(name)
    if not address:
        name = im.name(name)
    if what == "as-number" and len(words) == 1:
        return im.set_asn(im.peer_made(name) if address else im.group_made(name), words[0])
    if what == "group" and len(words) == 1 and address:
        im.peer_made(name)["group"] = im.name(words[0])
        return True
    o = neighbour(im, name)
    if o is None:
        return im.lost('there is no peer "%.64s"' % name)
    read = PEER.read([what] + words, im, o)
    return _family_line(im, o, [what] + words) if read is None else read


# ---- bgp ----


def _family(im, version, rest):
    im.family = {"ipv4-family": V4, "ipv6-family": V6}[version] if rest in ([], ["unicast"]) else None
    return im.family is not None


def _group(im, text, rest):
    o = im.group_made(im.name(text))
    if rest in ([], ["internal"]) and "asn" in im.router:  # internal is the default of a group
        o["asn"] = im.router["asn"]
    return rest in ([], ["internal"], ["external"])


def _default_route(im):
    im.bgp.setdefault("_default", {})[im.family] = True
    return True


def _family_filter(im, name, rest):
    """LIST {import | export [SOURCE]}: of all peers."""
    filters = im.bgp.setdefault("_filtered", {}).setdefault(im.family, {})
    filters.update((word, True) for word in [name] + rest if word in ("import", "export"))
    return im.lost("no route passes in this direction")


def _network(im, address, length):
    """Without a mask the class of the address counts."""
    return network(im, _prefix(address, length), "announced without a route in the table")


BGP = Rows(
    ("router-id *", lambda im, text: im.set_id(im.router, "router_id", text)),
    ("reflector cluster-id *", cluster_id),
    ("group * [...]", lambda im, text, rest: len(rest) < 2 and _group(im, text, rest)),
    ("default-route imported", _default_route),
    ("filter-policy * * [...]", lambda im, name, first, rest: _family_filter(im, name, [first] + rest)),
    ("network * *", _network),
    ("import-route (direct|static)", lambda im, source: im.redistribute(SOURCES[source], None)),
    ("import-route (direct|static) route-policy *", lambda im, source, policy: im.redistribute(SOURCES[source], policy)),
    ("maximum load-balancing *", lambda im, text: im.set_max_paths(text)),
    ("private-4-byte-as *", done),
    ("check-first-as", done),
    ("check-first-as *", done),
    ("quit", leave_family),
)


def _bgp_line(im, words):
    if words[0] in ("ipv4-family", "ipv6-family") and len(words) < 3:
        return _family(im, words[0], words[1:])
    if "-family" in words[0] or words[0] == "vpn-instance":
        im.family = None
        return False
    if im.family is None:
        return im.lost("the lines of this address family are left out")
    if words[0] == "peer" and len(words) > 2:
        return _peer_line(im, words[1], words[2], words[3:])
    return BGP.read(words, im)


def _undo_default_family(im):
    im.no_default_family = True
    return True


def _undo_first_as(im):
    im.bgp["_first_as"] = False
    return True


def _undo_enable(im, name):
    o = neighbour(im, name)
    if o is not None:
        im.family_made(o)["enabled"] = False
    return o is not None


UNDO = Rows(
    ("default ipv4-unicast", _undo_default_family),
    ("check-first-as", _undo_first_as),
    ("synchronization", done),
    ("summary", done),
    ("peer * enable", _undo_enable),
)


# ---- lines ----


def _bgp(im, text):
    if "asn" in im.router and texts.asn(text) != im.router["asn"]:
        return im.lost("a further router")
    im.in_bgp = True
    return im.set_asn(im.router, text)


TOP = Rows(
    ("bgp *", _bgp),
    ("router id *", lambda im, text: im.set_id(im.router, "router_id", text)),
    ("route-policy * (permit|deny) node *", _route_policy),
    ("(ip|ipv6) route-static * * * [...]", _static_route),
    ("ip ip-prefix|ipv6-prefix * * [...]", _prefix_list),
    ("ip as-path-filter * * [...]", lambda im, name, first, rest: _value_list(im, "as_path_lists", "regex", name, [first] + rest)),
    ("ip (community-filter|large-community-filter|extcommunity-filter) * * [...]",
     lambda im, word, first, second, rest: _community_list(im, word, [first, second] + rest)),
)


def _top_line(im, words):
    im.in_bgp = False
    im.node, im.family = None, V4
    read = TOP.read(words, im)
    return words[0] in IDLE if read is None else read


def _line(im, indented, words):
    if im.node is None and not im.in_bgp and words[0] == "if-match":
        return im.stray()
    if not indented and not (im.node is not None and words[0] in ("if-match", "apply", "description", "goto", "undo")):
        return _top_line(im, words)
    undo = words[0] == "undo" and len(words) > 1
    if not im.in_bgp:
        return im.node is not None and not undo and _policy_line(im, words)
    return (im.family is not None and UNDO.read(words[1:], im)) if undo else _bgp_line(im, words)


# ---- defaults ----


def _peer_defaults(im, peer):
    """What VRP does where no line says otherwise: all routes pass, IPv4 is enabled, no communities are sent."""
    if "_first_as" in im.bgp:
        peer["enforce_first_as"] = False
    for name, f, theirs in family_defaults(im, peer):
        accept_all(f, theirs)
        for way in im.bgp.get("_filtered", {}).get(name, ()):
            im.add_filter(f, way == "import", "filter-policy", False)
        if value_of(f, theirs, "send_communities") is None:
            f["send_communities"] = False


def _default_routes(im):
    """`import-route` imports a default route only with `default-route imported` of the family."""
    policies = im.section("route_policies")
    has_default = any(o["prefix"] in ("0.0.0.0/0", "::/0") for o in im.document.get("static_routes", ()))
    for family, f in im.bgp.get("redistribute", {}).get("static", {}).get("_families", {}).items():
        old = f.get("policy")
        if family in im.bgp.get("_default", ()) or not has_default or (old is not None and old not in policies):
            continue
        name = im.unique("the default route is not imported", ("no-default" + ("" if old is None else "-" + old))[:63])
        if name not in policies:
            im.element("prefix_lists", name)["entries"] = [{"action": "permit", "prefix": "0.0.0.0/0"}, {"action": "permit", "prefix": "::/0"}]
            policies[name] = {"name": name, "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": name}},
                                                      {"seq": 20, "action": "permit", **({} if old is None else {"call": old})}]}
        f["policy"] = name


def read(im, data):
    """Translates the file (bytes)."""
    im.missing_matches_all = im.own_next_hop = True
    each_line(im, data, _line)
    im.key_of_families("route_reflector_client")
    for peer in im.bgp.get("peers", {}).values():
        _peer_defaults(im, peer)
    _default_routes(im)
