# SPDX-License-Identifier: BSD-3-Clause
"""import bird: protocols and templates of BGP with their channels, as neighbours, groups and ranges.

Keys of the translation: _address, _interface, _range, _local (AS number), _internal, _vrf, _allow, _direct, _cluster, _self, _reflected, _line of a
neighbour; _table, _import_limit, _receive_limit of a family."""
import copy

from . import keys
from .bird_filter import read_filter
from .bird_read import NO_ROUTE, Statements, debug
from .document import equal, password_fault, value_of
from .next_hops import ThirdParties, has_gateways
from .texts import FAMILIES, MOST_U32, V4, V6, address_key

MULTIHOP_TTL = 64  # of `multihop` without a number
ROLES = {"peer": "peer", "provider": "provider", "customer": "customer", "rs_server": "rs-server", "rs_client": "rs-client"}


# ---- policies of a channel ----


def _policy(b, family, key, own_name):
    """all | none | filter NAME | filter { } | where EXPRESSION. False: unknown."""
    line = b.peek().line
    if b.take("all") or b.take("none"):
        family[key] = "accept-all" if b.tokens[b.at - 1].text == "all" else "deny-all"
        return True
    if b.take("filter") and not b.sees("{"):
        found = b.find(b.peek().text, "filter")
        if found is None:
            return False
        b.at += 1
        family[key] = b.name(found.name, line)
        return True
    first, where = b.at, b.take("where")
    if where:
        first = b.at
        b.skip_to(";")
    elif b.sees("{"):
        b.skip_brackets()
    else:
        return False
    end, name = b.at, b.name(own_name, line)
    read_filter(b, name, (0, 0), (first, end), key == "export_policy", where)
    family[key] = name
    return True


def _limit_off(family, theirs, key):
    """The limit of the channel is off: `key` overrides the limit of the template."""
    family.pop(key, None)
    if theirs and key in theirs:
        family[key] = {"limit": MOST_U32, "action": "warning"}


def _limit(b, family, key):
    """After `limit`: N [action A] | off. Stays under `key` until the end of the channel; False: off."""
    line = b.peek().line
    if b.take("off"):
        family[key] = False
        return True
    n = b.take_number(1)
    if n is None:
        return False
    family[key] = limit = {"limit": n, "action": "shutdown", "_line": line}
    if not b.take("action"):
        return True
    if b.take("warn"):
        limit["action"] = "warning"
    elif b.take("block"):
        limit["action"] = "discard"
    elif b.take("restart"):
        b.note(line, "changed: the session is established again after 60 s")
        limit["restart_s"] = 60
    else:
        return b.take("disable")
    return True


def _choose_limit(b, family, theirs, line):
    """The import limit of BIRD counts accepted routes, the receive limit all routes; max_prefixes counts the routes that are kept. `theirs`: the channel of
    the template, or None. `line`: of the channel, for a limit of the template."""
    if not ("_import_limit" in family or "_receive_limit" in family or "keep_all_routes" in family):
        return
    accepted, received = value_of(family, theirs, "_import_limit"), value_of(family, theirs, "_receive_limit")
    keeps = value_of(family, theirs, "keep_all_routes") is True

    def note(key, limit, verdict):
        b.note(limit["_line"] if key in family else line, verdict)

    if received and not keeps:
        note("_receive_limit", received, "not carried: max_prefixes counts refused routes only with keep_all_routes")
    elif received and accepted:
        note("_import_limit", accepted, "not carried: max_prefixes is the receive limit")
    elif accepted and keeps:
        note("_import_limit", accepted, "changed: max_prefixes counts refused routes too, because keeld keeps them")
    chosen = received if received and keeps else accepted
    if not chosen:
        _limit_off(family, theirs, "max_prefixes")
    elif not theirs or chosen != theirs.get("max_prefixes"):
        family["max_prefixes"] = dict(chosen)


def _export_limit(b, o, family, theirs, own_name):
    """N [action {warn | disable}] | off. Without an action BIRD disables the protocol."""
    action = "shutdown"
    if b.take("off"):
        _limit_off(family, theirs, "max_prefixes_out")
        return True
    n = b.take_number(1)
    if n is None:
        return False
    if b.take("action"):
        if b.take("warn"):
            action = "warning"
        elif not b.take("disable"):
            return False
    family["max_prefixes_out"] = {"limit": n, "action": action}
    return True


def _keep_routes(b, o, family, theirs, own_name):
    family["keep_all_routes"] = b.take_switch()
    return True


def _next_hop_self(b, o, family, theirs, own_name):
    external = b.take("ebgp")
    on = external or b.take_switch()
    if b.sees(";"):
        o["_self"], o["_reflected"] = on, on and not external
        family["next_hop_self"] = on
    return b.sees(";")


def _next_hop_keep(b, o, family, theirs, own_name):
    on = b.take_switch()
    if b.sees(";"):
        family["next_hop_unchanged"] = on
    return b.sees(";")


def _table(b, o, family, theirs, own_name):
    if b.take("master4") or b.take("master6"):
        return True
    family["_table"] = True
    return False


def _extended_next_hop(b, o, family, theirs, own_name):
    o.setdefault("capabilities", {})["extended_next_hop"] = b.take_switch()
    return True


CHANNEL = Statements(
    ("import limit", lambda b, o, family, theirs, own_name: _limit(b, family, "_import_limit")),
    ("receive limit", lambda b, o, family, theirs, own_name: _limit(b, family, "_receive_limit")),
    ("export limit", _export_limit),
    ("import keep filtered", _keep_routes),
    ("import table", _keep_routes),
    ("export table", lambda b, *_: b.take_switch() or True),
    ("import", lambda b, o, family, theirs, own_name: _policy(b, family, "import_policy", own_name + "-in")),
    ("export", lambda b, o, family, theirs, own_name: _policy(b, family, "export_policy", own_name + "-out")),
    ("next hop self", _next_hop_self),
    ("next hop keep", _next_hop_keep),
    ("table", _table),
    ("add paths", lambda b, *_: not b.take_switch()),
    ("extended next hop", _extended_next_hop),
    ("rpki reload", lambda b, *_: b.take_switch()),
    ("debug", debug),
    ("preference", lambda b, *_: b.take_number() == 100),
)


def _channel(b, o, family, theirs, own_name):
    """After `{`: statements up to `}`. `theirs`: the channel of the template, or None."""
    line = b.tokens[b.at - 1].line
    while not b.take("}") and not b.ended:
        at = b.at
        if b.take(";"):
            continue
        # an inline filter ends without a semicolon
        if CHANNEL.read(b, o, family, theirs, own_name) and (b.take(";") or b.tokens[b.at - 1].text == "}"):
            continue
        b.unknown(at)
        # an unknown policy lets no route pass
        way = b.tokens[at].text
        if way in ("import", "export") and at + 1 < b.end and b.tokens[at + 1].text != "limit":
            family[way + "_policy"] = "deny-all"
    _choose_limit(b, family, theirs, line)


# ---- protocol bgp, template bgp ----


def _switch(key, inside=None):
    def function(b, o):
        (o if inside is None else o.setdefault(inside, {}))[key] = b.take_switch()
        return True
    return function


def _number(key, inside):
    def function(b, o):
        n = b.take_number(*keys.RANGES[key])
        if n is None or (key == "hold_s" and n in (1, 2)):
            return False
        (o if inside is None else o.setdefault(inside, {}))[key] = n
        return True
    return function


def _text(key):
    def function(b, o):
        token = b.next()
        if token.kind == "text":
            o[key] = token.text
        return token.kind == "text"
    return function


def _same(value):
    """A switch that is done with this value, because keeld does the same."""
    return lambda b, o: b.take_switch() == value


def _local(b, o):
    address = b.take_address()
    if address is not None:
        o["source"] = address
    if b.take("port") and b.take_number() != 179:
        return False
    if not b.take("as"):
        return b.sees(";")
    n = b.take_asn()
    if n is not None:
        o["_local"] = n
    return n is not None


def _neighbor(b, o):
    if b.take("range"):
        prefix = b.take_prefix()
        if prefix is None:
            return False
        o["_range"] = prefix
    else:
        address = b.take_address()
        if address is not None:
            o["_address"] = b.take_link(address)
    while not b.sees(";"):
        if b.take("port"):
            n, key = b.take_number(1, 65535), "port"
        elif b.take("as"):
            n, key = b.take_asn(), "asn"
        else:
            n, key = b.take("internal") or None, "_internal"
        if n is None:
            return False
        if key != "port":
            o.pop("asn", None)  # the AS of this router, or the AS number of the neighbour
            o["_internal"] = False
        o[key] = n
    return True


def _role(b, o):
    role = ROLES.get(b.peek().text)
    if role is not None:
        o["role"] = role
        b.at += 1
    return role is not None


def _password(b, o):
    token = b.next()
    fault = password_fault(token.text) if token.kind == "text" else None
    if fault is not None:
        b.note(token.line, fault)
    elif token.kind == "text":
        o["password"] = token.text
    return token.kind == "text"


def _vrf(b, o):
    if b.take("default"):
        return True
    o["_vrf"] = True
    return False


def _source(b, o):
    address = b.take_address()
    if address is not None:
        o["source"] = address
    return address is not None


def _multihop(b, o):
    n = MULTIHOP_TTL if b.sees(";") else b.take_number(1, 255)
    if n is None:
        return False
    o.pop("_direct", None)
    o["multihop"] = n
    return True


def _direct(b, o):
    o.pop("multihop", None)
    o["_direct"] = True
    return True


def _cluster_id(b, o):
    address = b.take_address()
    b.im.verdict = ""
    if address is None or not b.im.set_id(b.im.bgp, "cluster_id", address) or b.im.verdict:
        return False
    o["_cluster"] = address
    return True


def _allow_as(b, o):
    n = 255 if b.sees(";") else b.take_number(0, 255)
    if n is not None:
        o["_allow"] = n
    return n is not None


def _graceful_restart(b, o):
    if b.take("aware"):
        return True
    if b.take_switch():
        b.note(b.tokens[b.at - 1].line, "changed: keeld is the helper; it restarts with forwarding state only with keelfwd")
    else:
        o.setdefault("capabilities", {})["graceful_restart"] = False
    return True


def _of_key(line, key, inside):
    """The row of a key of keys.py."""
    words, _, value = line.rpartition(" ")
    if value == "NUMBER":
        return words, _number(key, inside)
    return (words, _text(key)) if value == "TEXT" else (line, _switch(key, inside))


BGP = Statements(
    *(_of_key(*row) for row in keys.BIRD_PEER),
    ("local role", _role),
    ("local", _local),
    ("neighbor", _neighbor),
    ("authentication md5", lambda b, o: True),
    ("password", _password),
    ("interface", _text("_interface")),
    ("vrf", _vrf),
    ("source address", _source),
    ("multihop", _multihop),
    ("direct", _direct),
    ("rr cluster id", _cluster_id),
    ("router id", lambda b, o: equal(b.take_address(), b.im.router.get("router_id"))),
    ("allow local as", _allow_as),
    *NO_ROUTE,
    ("graceful restart", _graceful_restart),
    *((words, _same(True)) for words in ("interpret communities", "path metric", "igp metric", "deterministic med", "capabilities", "enable as4")),
    *((words, _same(False)) for words in ("med metric", "prefer older", "bfd", "allow bgp_local_pref", "confederation member",
                                          "long lived graceful restart", "disable after error")),
    ("default bgp_local_pref", lambda b, o: b.take_number() == 100),
    ("default bgp_med", lambda b, o: b.take_number() == 0),
)


def _take_family(b):
    """Takes the words before a channel: its family; None: no channel of keeld."""
    first, second = b.peek().text, b.peek(1).text
    family = {"ipv4": V4, "ipv6": V6}.get(first)
    if family is None or second not in ("{", ";", "unicast"):
        return None
    b.at += 1 + (second == "unicast")
    return family


def _block(b, o, inherited, name):
    """After `{`. `inherited`: the object of the template, or None."""
    while not b.take("}") and not b.ended:
        at = b.at
        if b.take(";"):
            continue
        family = _take_family(b)
        if family is None:
            if not (BGP.read(b, o) and b.take(";")):
                b.unknown(at)
            continue
        f, theirs = o.setdefault("families", {}).setdefault(family, {}), (inherited or {}).get("families", {}).get(family)
        if theirs is None:  # the defaults of BIRD
            f.update(import_policy="accept-all", export_policy="deny-all")
        if b.take("{"):
            _channel(b, o, f, theirs, "%s-%s" % (name, family[:4]))
        b.take(";")


# ---- neighbours ----


def _other_tables(b, o, group, line):
    """Routes of another table belong to no neighbour of this one, also where the template names the table."""
    for name in FAMILIES:
        if value_of(o.get("families", {}).get(name), (group or {}).get("families", {}).get(name), "_table") is not None:
            b.note(line, "not carried: a channel of another table; no route passes")
            o.setdefault("families", {}).setdefault(name, {}).update(import_policy="deny-all", export_policy="deny-all")


def _finish_peer(b, o, group, line):
    """The keys of a neighbour that depend on the AS numbers of both sides. False, with a verdict: the neighbour is left out."""
    router, local = b.im.router, value_of(o, group, "_local")
    if local is not None:
        router.setdefault("asn", local)
    why = None
    if value_of(o, group, "_vrf") is not None:
        why = "a neighbour of a VRF"
    elif local is None:
        why = "no local AS number; the neighbour is left out"
    elif local != router["asn"]:
        why = "a local AS number other than %d; the neighbour is left out" % router["asn"]
    if why is not None:
        b.note(line, "not carried: " + why)
        return False
    if value_of(o, group, "_internal") is True:
        o["asn"] = router["asn"]
    asn, families, inherited = value_of(o, group, "asn"), o.get("families", {}), (group or {}).get("families", {})
    external = asn is not None and asn != router["asn"]
    if external and value_of(o, group, "enforce_first_as") is None:
        o["enforce_first_as"] = False
    allow = value_of(o, group, "_allow")
    if allow is not None:
        for name in inherited:
            families = o.setdefault("families", {})
            families.setdefault(name, {})
        for f in families.values():
            f["allow_as_in"] = allow
    for name, f in families.items():
        if not external and value_of(f, inherited.get(name), "next_hop_unchanged") is True:
            f["next_hop_unchanged"] = False
    _other_tables(b, o, group, line)
    return True


def _merge_missing(to, source):
    """Members of `source` that `to` lacks; families, timers and capabilities member by member."""
    for key, value in source.items():
        if key not in to:
            to[key] = copy.deepcopy(value)
        elif key in ("families", V4, V6, "timers", "capabilities"):
            _merge_missing(to[key], value)


def _one_hop(b, o, parent, line):
    """One hop where the template has more: a key of a group cannot be taken back. True: `o` has all keys of `parent`."""
    if "_direct" not in o or parent is None or "multihop" not in parent:
        return False
    _merge_missing(o, parent)
    del o["multihop"]
    b.note(line, "changed: the keys of the template are its own, but for multihop")
    return True


def _check_hops(b, o, parent, line):
    """keeld has no `gtsm` over several hops."""
    if value_of(o, parent, "multihop") is not None and value_of(o, parent, "gtsm") is True:
        b.note(line, "not carried: TTL security over several hops")
        o["gtsm"] = False


def _add_range(b, o, group, line):
    """A range of neighbours; `o`: its group."""
    ranges, prefix = b.im.of_bgp("listen_ranges"), o["_range"]
    if not _finish_peer(b, o, None, line):
        return
    if prefix in ranges:
        b.note(line, "not carried: the range %s occurs before" % prefix)
    else:
        ranges[prefix] = {"prefix": prefix, "group": group}


def _add_peer(b, o, parent, name, line):
    """A neighbour. `parent`: its group, or None. `name`: of the protocol, or None."""
    address, link = value_of(o, parent, "_address"), value_of(o, parent, "_interface")
    if address is None or (value_of(o, parent, "asn") is None and value_of(o, parent, "_internal") is not True):
        b.note(line, "not carried: the neighbour has no address or no AS number")
        return
    if link is not None and address.lower().startswith("fe80") and "%" not in address:
        address = "%s%%%s" % (address, link)
    o["address"] = address
    if parent is not None:
        o["group"] = parent["name"]
    if name is not None:
        o.setdefault("description", name)
    o["_line"] = line
    if _finish_peer(b, o, parent, line):
        key = address_key(address) or address
        if key in b.im.bgp.get("peers", {}):
            b.note(line, "not carried: an earlier neighbour has the address %.64s; keeld has one session to an address" % address)
        else:
            b.im.of_bgp("peers")[key] = o


def _parent(b, line):
    """Takes [from TEMPLATE]: its object, or None."""
    if not b.take("from"):
        return None
    name = b.next().text
    b.im.verdict = ""
    found = b.im.of_bgp("groups").get(b.im.name(name))
    if found is None:
        b.note(line, 'not carried: there is no template "%.32s"' % name)
    return found


def read_bgp(b, template, line):
    """After `bgp` of a protocol or a template."""
    groups, o, name = b.im.of_bgp("groups"), {}, None
    if not b.sees("{", "from"):
        name = b.next().text
        own = b.name(name, line)
    else:
        b.unnamed += 1
        own = b.im.unique("protocol %d without name" % b.unnamed, "bgp%d" % b.unnamed)
    parent = _parent(b, line)
    if b.take("{"):
        _block(b, o, parent, own)
    if template or "_range" in o:
        if parent is not None and not _one_hop(b, o, parent, line):
            _merge_missing(o, parent)
        _check_hops(b, o, None, line)
        o["name"] = own
        if own in groups:
            b.note(line, 'not carried: the name "%.32s" occurs before' % own)
            return
        groups[own] = o
        if not template:
            _add_range(b, o, own, line)
        return
    if _one_hop(b, o, parent, line):
        o.pop("name", None)
        parent = None
    _check_hops(b, o, parent, line)
    _add_peer(b, o, parent, name, line)


# ---- what is known at the end of the file ----


def _next_hops(b, peers):
    """Next hops of third routers, and gateways of static routes."""
    known, gateways = ThirdParties(b.im), has_gateways(b.im)
    for o in peers:
        group, verdict = b.im.group_of(o), known.verdict(o, True)
        if verdict is not None:
            b.note(o["_line"], verdict)
        # `next hop self ebgp`
        if gateways and "enforce_first_as" not in o and value_of(o, group, "_self") is True and value_of(o, group, "_reflected") is not True:
            b.note(o["_line"], "changed: static routes get the address of this router as next hop, not the gateway")


def _reflector(b, peers):
    """A route reflector: with `next hop self` BIRD changes reflected routes as well, and each session can have a cluster id."""
    cluster = b.im.bgp.get("cluster_id")
    if not any(value_of(o, b.im.group_of(o), "route_reflector_client") is True for o in peers):
        return
    for o in peers:
        group = b.im.group_of(o)
        if "enforce_first_as" in o:
            continue
        if value_of(o, group, "_reflected") is True:
            b.note(o["_line"], "changed: reflected routes keep their next hop")
        elif cluster is not None and value_of(o, group, "_cluster") != cluster:
            b.note(o["_line"], "changed: the cluster id of all sessions is %s" % cluster)


def finish_peers(b):
    """Next hops and reflection."""
    peers = list(b.im.bgp.get("peers", {}).values())
    _next_hops(b, peers)
    _reflector(b, peers)
    for o in peers:
        # without a direct protocol BIRD has no route to next hops on connected subnets
        if not b.has_direct and "enforce_first_as" not in o:
            b.note(o["_line"], "changed: next hops on connected subnets can be reached")
