# SPDX-License-Identifier: BSD-3-Clause
"""import frr: a configuration of FRR. A line of bgpd and zebra is carried if a key of keel.json has the same meaning. `no` is the first word of a row
where the line begins with it."""
import re

from . import keys, texts
from .document import NODE_MAX, PREPEND_MAX, accept_all, value_of
from .lines import (cluster_id, done, each_line, family_defaults, filter_line, leave_family, match_list, neighbour, network, next_hop, of_direction,
                    prefix_entry, take_entry)
from .next_hops import report_third_parties
from .rows import Rows, of_keys, put, put_number, put_text, put_word
from .texts import V4, V6

# Lines without a meaning for routes.
IDLE = frozenset(("frr", "hostname", "log", "service", "exit", "end", "password", "enable", "line"))
NODE_WORDS = frozenset(("match", "set", "call", "on-match", "continue", "description", "optimization"))
CONDITIONS = ("match", "call", "on-match", "continue")
CHECKS_FIRST_AS = 10  # the first version of FRR that checks the first AS number by default


# ---- lists ----


def _prefix_list(im, family, name, words):
    """[seq N] {permit | deny} PREFIX [ge N] [le N]"""
    if words[0] == "description" and len(words) > 1:
        return im.changed("left out; a list has no description")
    taken = take_entry(im, "prefix_lists", name, words, "seq")
    if taken is None:
        return False
    n, action, words = taken
    entry = {"action": action, "prefix": texts.prefix(words[0])}
    if words == ["any"]:
        entry.update({"prefix": "::/0", "le": 128} if family == "ipv6" else {"prefix": "0.0.0.0/0", "le": 32})
    return prefix_entry(im, name, n, entry, words[1:], {"ge": "ge", "le": "le"})


EXPANDED = re.compile(r"(?P<start>[\^_])(?P<parts>[0-9]+(?::(?:[0-9]+|\.\*|\[0-9\][+*]))*)(?P<colon>:?)(?P<end>[_$]?)")


def _expanded_community(regex, large):
    """A regular expression of an expanded list as a community with wildcards: `_64512:[0-9]+_`, `^64512:.*`. bgpd matches the text of all communities of a
    route. Returns (None, False), or (text, True if the expression has this meaning only for `delete`, which sees each community alone)."""
    m, most = EXPANDED.fullmatch(regex), 3 if large else 2
    parts = m["parts"].split(":") if m else []
    if not 0 < len(parts) <= most or (m["colon"] and (len(parts) == most or m["end"])):
        return None, False
    for part in parts:
        # keeld reads a number of the size of its part, without zeros before it
        if part.isdigit() and (len(part) > 10 or str(int(part)) != part or int(part) > (texts.MOST_U32 if large else 65535)):
            return None, False
    wild, dots, delimited = not parts[-1].isdigit(), parts[-1] == ".*", bool(m["end"])
    # digits at the end can be the beginning of a longer number
    if not (wild or delimited if len(parts) == most else m["colon"] or (wild and (dots or not delimited))):
        return None, False
    alone = m["start"] == "^" or m["end"] == "$" or ".*" in parts[:-1]
    return ":".join([part if part.isdigit() else "*" for part in parts] + ["*"] * (most - len(parts))), alone


def _path_list(im, name, words):
    """[seq N] {permit | deny} REGEX"""
    section, taken = "as_path_lists", take_entry(im, "as_path_lists", name, words, "seq")
    if taken is None:
        return False
    n, action, words = taken
    regex = " ".join(words)
    if len(regex) > 253:
        return im.entry_lost(section, name, "the expression is too long")
    if re.match(r"[^\\]*\\[1-9]", regex):
        return im.entry_lost(section, name, "a reference to a group")
    return im.list_entry(section, name, n, {"action": action, "regex": regex})


def _expanded(im, section, key, name, regex):
    """The community of an expanded entry; None, with the verdict: not carried."""
    text, alone = _expanded_community(regex, key == "large_community")
    if text is None:
        im.list_partial(section, name)
        im.element(section, im.name(name))["_unusable"] = True
        im.lost("the regular expression is not of the form _64512:[0-9]+_ or ^64512:.*")
    elif alone:
        im.list_partial(section, name)
    return text


def _community_list(im, word, words):
    """[standard | expanded] NAME [seq N] {permit | deny} VALUE"""
    key = "large_community" if word == "large-community-list" else "community"
    section = key + "_lists"
    kind = words[0] if words[0] in ("standard", "expanded") else None
    name, expanded = words[kind is not None], kind == "expanded"
    if kind is None:
        # lists with a number: from 100 on they are expanded
        if texts.number(name) is None:
            return im.list_partial(section, name)
        expanded = texts.number(name) >= 100
    words = words[1 + (kind is not None):]
    taken = take_entry(im, section, name, words, "seq") if words else None
    if taken is None:
        return False
    n, action, words = taken
    if len(words) > 1:
        return im.entry_lost(section, name, "an entry takes one value; all of several values are several conditions")
    if not expanded and words[0] == "internet":
        return im.entry_lost(section, name, '"internet" is every route')
    text = _expanded(im, section, key, name, words[0]) if expanded else im.community(words[0], key == "large_community")
    if text is None:
        return im.list_partial(section, name)
    return im.list_entry(section, name, n, {"action": action, key: text})


# ---- route-maps ----


def _match_prefixes(im, match, version, name):
    """{ip | ipv6} address prefix-list: of one family, also where the name has lists of both."""
    family = V6 if version == "ipv6" else V4
    # a second line of one family replaces the first in bgpd
    if "prefix_list" in match and im.node.get("_family") != family:
        return im.lost("a node matches prefixes of one family")
    im.node["_family"] = family
    match["prefix_list"] = im.name(name)
    return True


def _match_preference(im, match, text):
    if text in ("0", "100"):
        return im.lost("a route without a preference has 0 in bgpd, and 100 in keeld")
    return im.set_number(match, "local_pref", text)


def _match_peer(im, match, address):
    if not texts.is_host(address) or "%" in address:
        return False
    match["peer"] = address
    return True


MATCH = Rows(
    ("(ip|ipv6) address prefix-list *", _match_prefixes),
    ("ip next-hop prefix-list *", match_list("next_hop_prefix_list")),
    ("as-path *", match_list("as_path_list")),
    ("community *", match_list("community_list")),
    ("large-community *", match_list("large_community_list")),
    ("metric *", put_number("med")),
    ("local-preference *", _match_preference),
    ("tag *", put_number("tag")),
    ("origin (igp|egp|incomplete)", put_word("origin")),
    ("rpki (valid|invalid)", put_word("validation")),
    ("rpki notfound", put("validation", "not-found")),
    ("peer *", _match_peer),
)


def _set_metric(im, changes, text):
    """[+ | -]N"""
    if text[0] not in "+-":
        return im.set_number(changes, "med", text)
    change = {}
    im.set_number(change, "add" if text[0] == "+" else "subtract", text[1:])
    if change:
        changes["med"] = change
    return bool(change)


def _set_preference(im, changes, text):
    if text[0] in "+-":
        return im.lost("bgpd counts from 0 where a route has no preference, and keeld from 100")
    return im.set_number(changes, "local_pref", text)


def _set_communities(im, changes, word, words):
    key = "communities" if word == "community" else "large_communities"
    if not words:
        return False
    changes.pop(key, None)  # of an entry the last line counts
    if words[-1] != "additive":
        im.node.get("_delete", {}).pop(key, None)
    return im.set_communities(changes, key, words)


def _delete_communities(im, changes, word, name):
    """keeld removes communities before it adds."""
    key, lists = "communities" if word == "comm-list" else "large_communities", im.node.setdefault("_delete", {})
    if key in lists or "add" in changes.get(key, {}):
        return False
    lists[key] = im.name(name)
    return True


def _prepend_last(im, changes, text):
    count = texts.number(text) or 0
    if 0 < count <= PREPEND_MAX:
        changes["as_path_prepend"] = {"asn": "first", "count": count}
    return 0 < count <= PREPEND_MAX


SET = Rows(
    ("local-preference *", _set_preference),
    ("metric *", _set_metric),
    ("tag *", put_number("tag")),
    ("origin (igp|egp|incomplete)", put_word("origin")),
    ("(community|large-community) [...]", _set_communities),
    ("(comm-list|large-comm-list) * delete", _delete_communities),
    ("ip next-hop *", next_hop),
    ("ipv6 next-hop global *", lambda im, changes, address: im.set_next_hop(changes, address)),
    ("as-path prepend last-as *", _prepend_last),
    ("as-path prepend * [...]", lambda im, changes, first, words: im.prepend(changes, [first] + words)),
)


def _call(im, node, name):
    """After a deny bgpd calls nothing."""
    node["_deny_wider"] = True
    if node["action"] == "deny":
        return im.changed("left out; a deny calls nothing")
    node["call"] = im.name(name)
    return True


def _jump(im, node, text=None):
    """The walk goes on at a later node; after a deny bgpd ends it."""
    to = node["seq"] + 1 if text is None else texts.number(text)
    if to is None:
        return False
    node["_deny_wider"] = True
    if node["action"] == "deny":
        return im.changed("left out; a deny ends the walk")
    node["_goto"] = to
    return True


JUMPS = Rows(
    ("call *", _call),
    ("on-match next", _jump),
    ("on-match goto *", _jump),
    ("continue", _jump),
    ("continue *", _jump),
    ("description * [...]", put_text("description")),
)


def _route_map(im, name, action, text, rest):
    seq = texts.number(text)
    return bool(seq) and seq <= NODE_MAX and im.open_node(name, seq, action)


def _node_line(im, words):
    if words[0] == "set" and len(words) > 1:
        if SET.read(words[1:], im, im.node.setdefault("set", {})) and not im.is_lost:
            return True
        im.node["_lost"] = True
        return im.is_lost
    if words[0] == "match" and len(words) > 1:
        if MATCH.read(words[1:], im, im.node.setdefault("match", {})) and not im.is_lost:
            return True
    elif JUMPS.read(words, im, im.node):
        return True
    return im.wider_node()


# ---- families of a neighbour ----


FILTERS = {"prefix-list": "prefix_list", "filter-list": "as_path_list"}


def _maximum_prefix(im, f, text, words):
    """N [THRESHOLD] [warning-only | restart MINUTES]; a later line replaces the limit."""
    limit, action, at = {}, "shutdown", 0
    if not im.set_number(limit, "limit", text) or im.is_lost:
        return False
    f["max_prefixes"] = limit
    percent = texts.number(words[0]) if words else None
    if percent is not None and 0 < percent <= 100:
        limit["threshold_percent"], at = percent, 1
    if words[at:] == ["warning-only"]:
        action, at = "warning", at + 1
    elif words[at:at + 1] == ["restart"] and len(words) == at + 2 and texts.number(words[at + 1]):
        im.set_restart(limit, texts.number(words[at + 1]))
        at += 2
    limit["action"] = action
    return at == len(words)


def _send_communities(im, f, kinds, no=False):
    """Both kinds are the default."""
    every = kinds[:1] in (["both"], ["all"])
    if kinds and not every:
        return False
    if no and kinds[:1] != ["all"]:
        im.changed("communities of no kind are sent")
    f["send_communities"] = not no
    return True


def _server_client(im, f):
    f["_route_server_client"] = True
    return im.changed("a received MED is advertised")


def _remove_private(im, f):
    f["remove_private_as"] = True
    return im.changed("private AS numbers are removed from all paths")


def _selected(im, f, word, rest):
    """The selected routes are unknown, so no route is advertised."""
    im.add_filter(f, False, word, False)
    return False


FAMILY = Rows(
    ("send-community [...]", _send_communities),
    ("no send-community [...]", lambda im, f, kinds: _send_communities(im, f, kinds, no=True)),
    ("route-map * (in|out)", of_direction("in")),
    ("route-reflector-client", put("_route_reflector_client")),
    ("route-server-client", _server_client),
    ("remove-private-AS", _remove_private),
    ("maximum-prefix * [...]", _maximum_prefix),
    ("(unsuppress-map|advertise-map) [...]", _selected),
    *of_keys(keys.FRR_FAMILY, no=True),
)


def _family_line(im, o, words):
    f = im.family_made(o)
    if len(words) > 1 and words[-1] in ("in", "out") and words[0] not in ("route-map", "send-community", "no"):
        return filter_line(im, f, words, FILTERS, "in")
    return FAMILY.read(words, im, f)


# ---- neighbours ----


def _remote_as(im, name, asn):
    o = im.peer_made(name) if texts.is_address(name) else neighbour(im, name)
    if o is None:
        return im.lost('there is no peer group "%.64s"' % name)
    o["graceful_shutdown"] = {"honour": True}  # bgpd honours GRACEFUL_SHUTDOWN of external peers
    if asn == "external":
        return im.lost("write the AS number of the peer")
    if asn != "internal":
        return im.set_asn(o, asn)
    if "asn" in im.router:
        o["asn"] = im.router["asn"]
    return "asn" in im.router


def _source(im, o, text):
    if not texts.is_address(text):
        return im.lost("write the address of interface %.32s" % text)
    o["source"] = text
    return True


def _interface(im, o, interface):
    """The interface of a link-local neighbor. Later lines name the neighbor without the interface."""
    zoned = "%s%%%s" % (o.get("address", o.get("name")), interface)
    if texts.is_host(zoned):
        o["_zoned"] = zoned
    return texts.is_host(zoned)


def _shutdown(im, o, rest, no=False):
    if rest[:1] == ["rtt"]:
        return False
    if rest:
        im.changed("without the message")
    o["shutdown"] = not no
    return True


def _local_as(im, o, text):
    asn = texts.asn(text)
    if asn is None:
        return False
    o["local_as"] = asn
    return im.changed("received paths do not get this AS number")


NEIGHBOR = Rows(
    ("password *", lambda im, o, text: im.set_password(o, text)),
    ("update-source *", _source),
    ("interface *", _interface),
    ("shutdown [...]", _shutdown),
    ("no shutdown [...]", lambda im, o, rest: _shutdown(im, o, rest, no=True)),
    ("local-as *", _local_as),
    *of_keys(keys.FRR_PEER, no=True),
    ("timers * *", lambda im, o, keepalive, hold: im.set_timers(o.setdefault("timers", {}), keepalive, hold)),
)


def _neighbor(im, no, name, words):
    address = texts.is_address(name)
    if not address:
        name = im.name(name)
    what = [] if no else words
    if what[:1] == ["remote-as"] and len(what) == 2:
        return _remote_as(im, name, what[1])
    if what == ["peer-group"] and not address:
        return im.group_made(name) is not None
    if what[:1] == ["peer-group"] and len(what) == 2 and address:
        im.peer_made(name)["group"] = im.name(what[1])
        return True
    if words[:1] == ["interface"] and len(words) > 1 and not address:
        return im.lost("write the address of the neighbour")
    o = neighbour(im, name)
    if o is None:
        return im.lost('there is no neighbor "%.64s"' % name)
    words = ["no"] + words if no else words
    read = NEIGHBOR.read(words, im, o)
    return bool(words) and _family_line(im, o, words) if read is None else read


# ---- router bgp ----


def _address_family(im, version, rest):
    unicast = rest in ([], ["unicast"])
    im.family = {"ipv4": V4, "ipv6": V6}.get(version) if unicast else None
    return im.family is not None


def _listen_range(im, text, group):
    prefix, ranges = texts.prefix(text), im.of_bgp("listen_ranges")
    if prefix is None:
        return False
    name = im.name(group)
    if prefix in ranges:
        return im.lost("the range occurs before")
    ranges[prefix] = {"prefix": prefix, "group": name}
    return True


def _network(im, text):
    return network(im, texts.prefix(text), "announced without MED 0" + ("" if im.no_import_check else ", and without a route in the table"))


def _of_bgpd(name, value):
    """A default of bgpd that a line changes."""
    def function(im):
        setattr(im, name, value)
        return True
    return function


BGP = Rows(
    ("bgp router-id *", lambda im, text: im.set_id(im.router, "router_id", text)),
    ("bgp cluster-id *", cluster_id),
    ("bgp default ipv4-unicast", _of_bgpd("no_default_family", False)),
    ("no bgp default ipv4-unicast", _of_bgpd("no_default_family", True)),
    ("bgp ebgp-requires-policy", _of_bgpd("no_policy_needed", False)),
    ("no bgp ebgp-requires-policy", _of_bgpd("no_policy_needed", True)),
    ("bgp network import-check", _of_bgpd("no_import_check", False)),
    ("no bgp network import-check", _of_bgpd("no_import_check", True)),
    ("timers bgp * *", lambda im, keepalive, hold: im.set_timers(im.bgp.setdefault("_timers", {}), keepalive, hold)),
    ("bgp hard-administrative-reset|log-neighbor-changes|deterministic-med", done),
    ("no bgp hard-administrative-reset|log-neighbor-changes|deterministic-med", done),
    ("bgp bestpath compare-routerid", done),
    ("bgp listen range * peer-group *", _listen_range),
    ("network *", _network),
    ("maximum-paths *", lambda im, text: im.set_max_paths(text)),
    ("redistribute (connected|static|kernel)", lambda im, source: im.redistribute(source, None)),
    ("redistribute (connected|static|kernel) route-map *", lambda im, source, policy: im.redistribute(source, policy)),
)
FAMILY_BLOCKS = Rows(
    ("address-family * [...]", _address_family),
    ("exit-address-family", leave_family),
)


def _bgp_line(im, no, words):
    if words[0] in ("address-family", "exit-address-family"):
        return FAMILY_BLOCKS.read(words, im)
    if im.family is None:
        return im.lost("the lines of this address family are left out")
    if words[0] == "neighbor" and len(words) > 1:
        return _neighbor(im, no, words[1], words[2:])
    return BGP.read(["no"] + words if no else words, im)


# ---- other blocks, lines at the top ----


def _rpki_cache(im, address, port, rest):
    if not texts.is_address(address):
        return im.lost("write the address of the cache")
    if rest and (rest[0] != "preference" or len(rest) != 2):
        return False
    cache = {"address": address}
    im.set_number(cache, "port", port)
    if rest:
        im.set_number(cache, "preference", rest[1])
    return im.add_cache(cache)


RPKI = Rows(
    ("rpki polling_period|retry_interval|expire_interval *", lambda im, text: im.changed("the times of the cache are in use")),
    ("rpki cache * * [...]", _rpki_cache),
    ("exit", done),
)


def _static_route(im, text, hop, rest):
    o = {"prefix": texts.prefix(text)}
    if o["prefix"] is None or (rest and (rest[0] != "tag" or len(rest) != 2)):
        return False
    if hop in ("blackhole", "Null0"):
        o["blackhole"] = True
    elif texts.is_address(hop):
        o["next_hop"] = hop
    else:
        return False
    if rest:
        im.set_number(o, "tag", rest[1])
    why = im.static_route(o)
    return why is None or im.say(why)


def _router(im, text):
    asn = texts.asn(text)
    if asn is None or im.router.get("asn", asn) != asn:
        return im.lost("a further router")
    im.in_bgp = True
    im.router["asn"] = asn
    return im.changed("routes with BLACKHOLE do not get NO_EXPORT")


def _rpki(im):
    im.in_rpki = True
    return True


def _datacenter(im):
    im.no_policy_needed = im.no_import_check = True
    return im.set_timers(im.bgp.setdefault("_timers", {}), "3", "9")


def _version(im, text):
    number = re.match("[0-9]{1,4}", text)
    im.version = int(number[0]) if number else 0
    return True


LISTS = Rows(
    ("bgp route-map delay-timer *", done),
    ("frr version *", _version),
    ("frr defaults datacenter", _datacenter),
    ("(ip|ipv6) prefix-list * * [...]", lambda im, family, name, first, rest: _prefix_list(im, family, name, [first] + rest)),
    ("ip|ipv6 route * * [...]", _static_route),
    ("bgp|ip as-path access-list * * [...]", lambda im, name, first, rest: _path_list(im, name, [first] + rest)),
    ("bgp|ip (community-list|large-community-list) * * [...]",
     lambda im, word, first, second, rest: _community_list(im, word, [first, second] + rest)),
)
BLOCKS = Rows(
    ("router bgp *", _router),
    ("route-map * (permit|deny) * [...]", _route_map),
    ("rpki", _rpki),
)


def _top_line(im, words):
    # lines of lists and of zebra end no block
    if LISTS.read(words, im):
        return True
    if words[0] in ("ip", "ipv6", "bgp") and len(words) > 3 and (
            words[1] in ("prefix-list", "route", "as-path") or "community-list" in words[1]):
        return False
    im.in_bgp = im.in_rpki = False
    im.node, im.family = None, V4
    return BLOCKS.read(words, im) or (words[0] in IDLE and len(words) < 4)


def _block_line(im, no, words):
    if im.in_bgp:
        return _bgp_line(im, no, words)
    if im.in_rpki:
        return not no and RPKI.read(words, im)
    return im.node is not None and not no and _node_line(im, words)


def _line(im, indented, words):
    no = words[0] == "no" and len(words) > 1
    words = words[no:]
    if im.node is None and not im.in_bgp and words[0] in CONDITIONS:
        return im.stray()
    # vtysh reads lines of a route map without spaces before them, too
    if indented or (im.node is not None and words[0] in NODE_WORDS):
        return _block_line(im, no, words)
    return not no and _top_line(im, words)


# ---- defaults ----


def _peer_defaults(im, peer):
    """The defaults of bgpd for a peer, or the group of a range: IPv4 unicast, and all routes where policies are not needed."""
    group = im.group_of(peer)
    # bgpd before FRR 10 checks the first AS number only with `enforce-first-as`
    if im.version < CHECKS_FIRST_AS and value_of(peer, group, "enforce_first_as") is None and value_of(peer, group, "asn") is not None:
        peer["enforce_first_as"] = False
    # `timers bgp`, where neither the peer nor the group has times of its own
    timers = im.bgp.get("_timers")
    if timers is not None and value_of(peer.get("timers"), (group or {}).get("timers"), "hold_s") is None:
        peer.setdefault("timers", {}).update(timers)
    for _, f, theirs in family_defaults(im, peer):
        if im.no_policy_needed:
            accept_all(f, theirs)
        limit = value_of(f, theirs, "max_prefixes")
        if value_of(f, theirs, "keep_all_routes") is True and limit and limit.get("action") == "shutdown":
            im.end_report(peer.get("address", peer.get("name")), "changed: max_prefixes counts refused routes too, because keeld keeps them")


def read(im, data):
    """Translates the file (bytes)."""
    im.first_gateway = True
    im.version = 0
    im.no_policy_needed = im.no_import_check = False
    each_line(im, data, _line)
    im.key_of_families("route_reflector_client")
    im.key_of_families("route_server_client")
    for peer in im.bgp.get("peers", {}).values():
        peer["address"] = peer.get("_zoned", peer["address"])
        _peer_defaults(im, peer)
    # of the peers of a range, which have keys of the group alone
    for o in im.bgp.get("listen_ranges", {}).values():
        group = im.bgp.get("groups", {}).get(o["group"])
        if group is not None:
            _peer_defaults(im, group)
    report_third_parties(im)
