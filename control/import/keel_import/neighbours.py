# SPDX-License-Identifier: BSD-3-Clause
"""The end of a translation, of neighbours, groups, ranges and redistribution. Keys that BIRD, FRR or VRP may accept and keeld refuses are removed; where
such a key is of a group, the neighbour or the range is left out. The document never permits more than the file."""
import json

from . import texts
from .document import equal, value_of
from .texts import FAMILIES, V4, V6, is_six

HOLD_DEFAULT = 90  # timers.hold_s


def _is_true(o, group, key):
    return value_of(o, group, key) is True


def _replace(im, what, o, key, value, why):
    """Sets or removes (None) the key of a neighbour, with a verdict."""
    if value is None:
        o.pop(key, None)
    else:
        o[key] = value
    im.end_report(what, "not carried: %s %s" % (key, why))


# ---- keys that keeld refuses ----


def _source_fault(source, address):
    """The reason why the neighbour (None: a group) cannot have the source; None: it can."""
    zone = source.partition("%")[2]
    if not texts.is_host(source):
        return "is no address of a host"
    if address is None:
        return None
    if is_six(source) != is_six(address):
        return "is of another family than the neighbour"
    if zone and zone != address.partition("%")[2]:
        return "is on another link than the neighbour"
    return "is the address of the neighbour" if texts.same_address(source, address) else None


def _check_address(im, what, address, o, group):
    """False: the group has a source or hops that the neighbour cannot have."""
    zone = address.partition("%")[2]
    if o.get("source") is not None:
        # only a link-local address is a host with a zone
        zoned = "%s%%%s" % (o["source"], zone)
        if zone and texts.is_host(zoned):
            o["source"] = zoned
        why = _source_fault(o["source"], address)
        if why is not None:
            _replace(im, what, o, "source", None, why)
    source = value_of(o, group, "source")
    why = None if source is None else _source_fault(source, address)
    if why is not None:
        im.end_report(what, "not carried: source of the group " + why)
        return False
    if zone and "multihop" in o:
        _replace(im, what, o, "multihop", None, "of a link-local address")
    if not zone or group is None or "multihop" not in group:
        return True
    im.end_report(what, "not carried: multihop of the group, of a link-local address")
    return False


def _check_kind(im, what, o, group, external):
    """Keys of an external or internal neighbour alone. False: the key of the group cannot be left out."""
    own, local = im.router.get("asn"), value_of(o, group, "local_as")
    if not external and _is_true(o, group, "route_server_client"):
        _replace(im, what, o, "route_server_client", False, "of an internal neighbour")
    if external and _is_true(o, group, "route_reflector_client"):
        _replace(im, what, o, "route_reflector_client", False, "of an external neighbour")
    if not external and value_of(o, group, "role") not in (None, "none"):
        _replace(im, what, o, "role", "none", "of an internal neighbour")
    if _is_true(o, group, "gtsm") and value_of(o, group, "multihop") is not None:
        _replace(im, what, o, "gtsm", False, "over several hops")
    if local is None or (not equal(local, value_of(o, group, "asn")) if external else equal(local, own)):
        return True
    _replace(im, what, o, "local_as", None, "is the AS number of the neighbour" if external else "of an internal neighbour")
    if group is None or "local_as" not in group:
        return True
    if own is not None:
        o["local_as"] = own
    return own is not None


def _check_families(im, what, o, group, external):
    for name in FAMILIES:
        f, theirs = o.get("families", {}).get(name), (group or {}).get("families", {}).get(name)
        for key in () if external else ("remove_private_as", "as_override"):
            if _is_true(f, theirs, key):
                f = o.setdefault("families", {}).setdefault(name, {})
                _replace(im, what, f, key, False, "of an internal neighbour")
        if _is_true(f, theirs, "next_hop_self") and _is_true(f, theirs, "next_hop_unchanged"):
            f = o.setdefault("families", {}).setdefault(name, {})
            _replace(im, what, f, "next_hop_unchanged", False, "beside next_hop_self")


def _check_times(im, what, o, group):
    """A keepalive time below the hold time, where the group has the keepalive time or the hold time."""
    own, theirs = o.get("timers"), (group or {}).get("timers")
    seconds, keepalive = value_of(own, theirs, "hold_s"), value_of(own, theirs, "keepalive_s")
    seconds = HOLD_DEFAULT if seconds is None else seconds
    if keepalive is not None and seconds != 0 and keepalive >= seconds:
        o.setdefault("timers", {})["keepalive_s"] = seconds // 3
        im.end_report(what, "changed: the keepalive time is a third of the hold time")


def _check_neighbour(im, what, o, group):
    """False, with a verdict: a neighbour with the address `what` cannot have the keys."""
    external = not equal(value_of(o, group, "asn"), im.router.get("asn"))
    if not _check_address(im, what, what, o, group) or not _check_kind(im, what, o, group, external):
        return False
    _check_families(im, what, o, group, external)
    _check_times(im, what, o, group)
    return True


def _check_range(im, o, groups):
    """Neighbours of a range have the keys of the group alone."""
    group, none = groups.get(o["group"]), {}
    if group is not None:
        _check_times(im, o["group"], group, None)
    return _check_neighbour(im, o["prefix"], none, group) and not none


def _check_neighbours(im, peers, ranges, groups):
    """Removes keys that a session cannot have. Leaves out neighbours and ranges where the group has the key."""
    for name, o in groups.items():
        why = None if o.get("source") is None else _source_fault(o["source"], None)
        if why is not None:
            _replace(im, name, o, "source", None, why)
    for key, o in reversed(list(peers.items())):
        what = o["address"]
        if not texts.is_host(what):
            im.end_report(what, "not carried: no address of a host; a link-local address needs %INTERFACE")
            del peers[key]
        elif not _check_neighbour(im, what, o, im.group_of(o)):
            im.end_report(what, "not carried: the neighbour is left out")
            del peers[key]
    for prefix, o in reversed(list(ranges.items())):
        if not _check_range(im, o, groups):
            im.end_report(prefix, "not carried: the range is left out")
            del ranges[prefix]


def _drop_incomplete(im, peers, ranges, groups):
    """keeld needs the group and the AS number of each neighbour. Without an AS number keeld accepts neighbours of a range of all numbers, and other daemons
    none."""
    for key, peer in reversed(list(peers.items())):
        group = groups.get(peer.get("group"))
        if "group" in peer and group is None:
            im.end_report(peer["address"], 'not carried: there is no group "%.40s"; the neighbour is left out' % peer["group"])
            del peers[key]
        elif value_of(peer, group, "asn") is None:
            im.end_report(peer["address"], "not carried: the neighbour has no AS number, and is left out")
            del peers[key]
    for prefix, o in reversed(list(ranges.items())):
        if groups.get(o["group"], {}).get("asn") is None:
            im.end_report(prefix, 'not carried: group "%.40s" has no AS number; the range is left out' % o["group"])
            del ranges[prefix]


# ---- policies ----


def _filter_policy(im, nodes):
    """The name of a new policy, or of the policy with equal nodes."""
    key, policies = json.dumps(nodes), im.section("route_policies")
    if key not in im.filter_policies:
        n = len(im.filter_policies) + 1
        while "filter-%d" % n in policies:
            n += 1
        im.filter_policies[key] = name = "filter-%d" % n
        policies[name] = {"name": name, "nodes": nodes}
    return im.filter_policies[key]


def _check_policy(im, o, key):
    """Puts deny-all in the place of a missing policy."""
    name = o.get(key)
    if name in (None, "accept-all", "deny-all") or im.found("route_policies", name) is not None:
        return
    im.end_report(name, ("not carried" if im.missing_matches_all else "changed") + ": there is no policy of this name; no route passes")
    o[key] = "deny-all"


def _check_policies(im, home):
    for o in home.values():
        _check_policy(im, o, "policy")
        for f in o.get("families", {}).values():
            _check_policy(im, f, "import_policy")
            _check_policy(im, f, "export_policy")


def _join_filters(im, family, inherited, inward):
    """Joins the filters and the policy of a direction, which all must permit a route."""
    policy_key, filters_key = ("import_policy", "_filters_in") if inward else ("export_policy", "_filters_out")
    own, policy = family.get(filters_key), family.get(policy_key)
    filters = {**(inherited or {}).get(filters_key, {}), **(own or {})}
    if not filters or (own is None and policy is None):
        return
    if policy is None:
        policy = (inherited or {}).get(policy_key)
    nodes = []
    for key, name in filters.items():
        nodes.append({"seq": 10 * len(nodes) + 10, "action": "deny"})
        if name is not False:
            nodes[-1]["match"] = {"not": {key: name}}
    nodes.append({"seq": 10 * len(nodes) + 10, "action": "deny" if policy == "deny-all" else "permit"})
    if policy not in (None, "accept-all", "deny-all"):
        nodes[-1]["call"] = policy
    family[policy_key] = _filter_policy(im, nodes)


def _join_all_filters(im, o, group):
    for name, f in o.get("families", {}).items():
        inherited = (group or {}).get("families", {}).get(name)
        _join_filters(im, f, inherited, True)
        _join_filters(im, f, inherited, False)


# ---- redistribution ----


def _family_in_use(im, family):
    """True if a neighbour or a group has the family."""
    return any(family in o.get("families", {}) for home in ("groups", "peers") for o in im.bgp.get(home, {}).values())


def _policy_of_families(im, source, families):
    """One policy that permits the routes of each family through its own policy."""
    nodes = []
    for k, name in enumerate(FAMILIES):
        if name not in families:
            continue
        _check_policy(im, families[name], "policy")
        policy = families[name].get("policy")
        if policy == "deny-all":
            continue
        nodes.append({"seq": 10 * (k + 1), "action": "permit", "match": {"family": name}})
        if policy not in (None, "accept-all"):
            nodes[-1]["call"] = policy
    if not nodes:
        return "deny-all"
    policies, name, k = im.section("route_policies"), "redistribute-" + source, 2
    while name in policies:
        name, k = "redistribute-%s-%d" % (source, k), k + 1
    policies[name] = {"name": name, "nodes": nodes}
    return name


def _finish_redistribute(im):
    """A source is redistributed in the families of the file alone, each with its own policy."""
    used = {name: _family_in_use(im, name) for name in FAMILIES}
    for source, o in im.bgp.get("redistribute", {}).items():
        families = o.get("_families")
        if families is None:
            continue
        first, second = families.get(V4), families.get(V6)
        if (first is None and not used[V4]) or (second is None and not used[V6]) or first == second:
            o.update(second if first is None else first)
        else:
            o["policy"] = _policy_of_families(im, source, families)


# ---- the whole ----


def finish_neighbours(im):
    peers, groups, ranges = (im.bgp.get(section, {}) for section in ("peers", "groups", "listen_ranges"))
    _drop_incomplete(im, peers, ranges, groups)
    _check_neighbours(im, peers, ranges, groups)
    _check_policies(im, groups)
    _check_policies(im, peers)
    _finish_redistribute(im)
    _check_policies(im, im.bgp.get("redistribute", {}))
    # a neighbour joins filters of its group, so groups come last
    for o in peers.values():
        _join_all_filters(im, o, im.group_of(o))
    for o in groups.values():
        _join_all_filters(im, o, None)
