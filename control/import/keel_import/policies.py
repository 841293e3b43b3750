# SPDX-License-Identifier: BSD-3-Clause
"""The end of a translation, of lists and policies: names without a list or a policy, lost conditions, jumps, calls. Where a part of the file is lost, the
document permits less, never more."""
import bisect

from .texts import V6, is_six

# of a policy, in calls: less than half of what keeld takes, as nodes with jumps count twice
CALLED_NODES_MAX = 20000
CALL_CHAIN_MAX = 16
LISTS = ("prefix_lists", "as_path_lists", "community_lists", "large_community_lists", "ext_community_lists")
# Keys of `match` and the section of their lists.
LIST_KEYS = {"prefix_list": "prefix_lists", "next_hop_prefix_list": "prefix_lists", "as_path_list": "as_path_lists", "community_list": "community_lists",
             "large_community_list": "large_community_lists", "ext_community_list": "ext_community_lists"}
# Changes of a node, and the conditions on the changed attribute.
SEEN_BY = (("local_pref", ("local_pref",)), ("med", ("med",)), ("tag", ("tag",)), ("origin", ("origin",)), ("next_hop", ("next_hop_prefix_list",)),
           ("communities", ("community_list",)), ("large_communities", ("large_community_list",)), ("ext_communities", ("ext_community_list",)),
           ("as_path_prepend", ("as_path_list", "as_path_length")))


def nodes_of(im, name):
    return (im.found("route_policies", name) or {}).get("nodes", ())


def any_node(im, policy, test):
    """True if the test is true of a node of the policy, or of a policy that it calls."""
    seen, left = {None}, [policy]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in nodes_of(im, name):
            if test(node):
                return True
            left.append(node.get("call"))
    return False


def condition_lost(im, policy, node, key, why):
    """The node has a condition that is not known. A permit is left out, and a deny denies without that condition. A permit with a jump or a call keeps
    routes from later nodes, so it becomes a deny."""
    deny = node["action"] == "deny"
    node.get("match", {}).pop(key, None)
    if not deny:
        node["_wider"] = True
    im.end_report(policy["name"], "not carried: node %d: %s; %s" % (
        node["seq"], why, "the node denies without the condition" if deny else "the node permits nothing"))


def becomes_deny(node):
    for key in ("_wider", "_goto", "goto", "set", "call"):
        node.pop(key, None)
    node["action"] = "deny"


# ---- lists ----


def _list_is_known(im, section, name):
    """True if the meaning of the list is known. Makes a missing list."""
    found = im.found(section, name)
    if found is None:
        found = im.element(section, name)
        found["entries"] = []
        if im.missing_matches_all:
            found["_partial"] = True
            im.end_report(name, "not carried: there is no list of this name")
        else:
            im.end_report(name, "changed: there is no list of this name; it matches no route")
    return "_partial" not in found


def _lists_are_known(im, section, names):
    """`names`: of one list or several."""
    return all([_list_is_known(im, section, name) for name in ([names] if isinstance(names, str) else names)])


def _has_only(found, family):
    """True if all prefixes of the list are of the family. A router has a list of each family under one name."""
    if "_sixes" not in found:
        found["_sixes"] = {is_six(entry["prefix"]) for entry in found.get("entries", ()) if "prefix" in entry}
    return found["_sixes"] <= {family == V6}


def _finish_lists(im, policy, node):
    """The node and its lists."""
    match = node.get("match")
    if not match:
        return
    for key, section in LIST_KEYS.items():
        for found, lost in ((match, key), (match.get("not", ()), "not")):
            if key in found and not _lists_are_known(im, section, found[key]):
                condition_lost(im, policy, node, lost, "an entry of the list is not carried")
    family, name = node.get("_family"), match.get("prefix_list")
    if family is not None and isinstance(name, str) and not _has_only(im.found("prefix_lists", name), family):
        match["family"] = family


# ---- changes that later conditions see ----


def _sees_change(node, changed, lost):
    """A condition of the node that sees a change of a node before; None: none."""
    match = node.get("match")
    if not match or not (changed or lost):
        return None
    for key, conditions in SEEN_BY:
        if lost or key in changed:
            for condition in conditions:
                if condition in match:
                    return condition
    return None


def _values_to_remove(found):
    """The permitted values of a list for `delete`, or None."""
    if found is None or "_unusable" in found:
        return None
    values = []
    for entry in found.get("entries", ()):
        if entry["action"] != "permit":
            return None
        values += [entry[key] for key in ("community", "large_community") if key in entry]
    return values


def _finish_delete(im, policy, node):
    """`_delete`: {key of `set`: name of a list}."""
    for key, name in node.get("_delete", {}).items():
        values = _values_to_remove(im.found("community_lists" if key == "communities" else "large_community_lists", name))
        if values is not None:
            node.setdefault("set", {}).setdefault(key, {})["remove"] = values
            continue
        node["_lost"] = True
        im.end_report(policy["name"], 'not carried: node %d: communities of list "%.40s" are not removed' % (node["seq"], name))


# ---- calls ----


def _callee_sees(im, name, changed, lost):
    """True if a condition of the policy may see a change before the call."""
    if not (changed or lost):
        return False
    return any(_sees_change(node, changed, lost) is not None or "call" in node for node in nodes_of(im, name))


class _Finisher:
    """One policy. Its nodes are finished in their order."""

    def __init__(self, im, policy):
        self.im, self.policy = im, policy
        self.changed, self.lost = {}, False  # by the nodes before that go on
        self.comes_back = {}  # {callee: it calls this policy}

    def finish(self):
        nodes = self.policy.setdefault("nodes", [])
        nodes.sort(key=lambda node: node["seq"])
        last = nodes[-1]["seq"] if nodes else 0
        for node in nodes:
            self._node(node)
        nodes[:] = [node for node in nodes if "_wider" not in node]
        _finish_jumps(nodes, last)

    def _node(self, node):
        jumps, calls = "_goto" in node, "call" in node
        _finish_lists(self.im, self.policy, node)
        _finish_delete(self.im, self.policy, node)
        if calls:
            self._call(node)
        key = _sees_change(node, self.changed, self.lost)
        while key is not None:
            condition_lost(self.im, self.policy, node, key, "the condition sees a change of a node before; conditions see the route as received")
            key = _sees_change(node, self.changed, self.lost)
        if jumps:
            self.changed.update(node.get("set", {}))
            self.lost = self.lost or "_lost" in node or "call" in node
        # without this node a route could reach a later permit that the file keeps from it
        if (jumps or calls) and "_wider" in node:
            self.im.end_report(self.policy["name"], "changed: node %d denies what comes to it, because it would permit too much" % node["seq"])
            becomes_deny(node)

    def _calls_itself(self, callee):
        """True if a walk of the callee comes to this policy."""
        if callee not in self.comes_back:
            own = self.policy["name"]
            self.comes_back[callee] = callee == own or any_node(self.im, callee, lambda node: node.get("call") == own)
        return self.comes_back[callee]

    def _call(self, node):
        """The changes of the callee come before the changes of the node."""
        name = node["call"]
        if self.im.found("route_policies", name) is None:
            self.im.end_report(name, "changed: there is no policy of this name; it is not called")
            del node["call"]
        elif self._calls_itself(name):
            condition_lost(self.im, self.policy, node, "", "the policy calls itself")
            becomes_deny(node)
        elif _callee_sees(self.im, name, self.changed, self.lost):
            condition_lost(self.im, self.policy, node, "", "the policy that it calls sees a change of a node before")
        elif node.get("set") or "_lost" in node:
            condition_lost(self.im, self.policy, node, "", "its changes would follow those of the policy that it calls")


def _finish_jumps(nodes, last):
    """The jump of a node goes to the first node from `_goto` on. `last`: the last number of the file, whose node may be left out; a route that came for it
    is denied. bgpd refuses a route that no node behind a jump matches; keeld keeps the permit of the jump, so a deny is added."""
    numbers, jumps = [node["seq"] for node in nodes], False
    for at, node in enumerate(nodes):
        to = node.get("_goto")
        if to is None:
            continue
        found = bisect.bisect_left(numbers, to, at + 1)
        if found < len(numbers) or to <= last:
            node["goto"] = numbers[found] if found < len(numbers) else last + 10
            jumps = True
    if jumps:
        nodes.append({"seq": last + 10, "action": "deny"})


def callees_first(im):
    """The policies, each behind those that it calls."""
    done, seen = [], set()
    for first in im.document.get("route_policies", {}):
        walk = [] if first in seen else [(first, iter(nodes_of(im, first)))]
        seen.add(first)
        while walk:
            name, nodes = walk[-1]
            callee = next((c for c in (node.get("call") for node in nodes) if c is not None and c not in seen), None)
            if callee is None:
                done.append(walk.pop()[0])
            else:
                seen.add(callee)
                walk.append((callee, iter(nodes_of(im, callee))))
    return done


def _limit_calls(im):
    """keeld puts the nodes of a called policy in the place of each call, twice where a node has a jump. A node of a call that is too much denies."""
    known = {}  # {policy: (nodes, policies in the longest chain of calls)}
    for name in callees_first(im):
        total, chain, jumps = 2, 0, False
        for node in nodes_of(im, name):
            callee = node.get("call")
            more, its_chain = known.get(callee, (2, 1)) if callee is not None else (0, 0)
            if total + more > CALLED_NODES_MAX and callee is not None or its_chain >= CALL_CHAIN_MAX:
                becomes_deny(node)
                im.end_report(name, "not carried: node %d: calls of too many policies or nodes; the node denies" % node["seq"])
                more = its_chain = 0
            total += 2 + more
            chain = max(chain, its_chain)
            jumps = jumps or "goto" in node
        known[name] = total * (2 if jumps else 1), chain + 1


# ---- tags, validation ----


def _finish_tags(im, name):
    """keeld does not keep the tag of a static route. A policy for routes to a neighbour sees no tag, so its conditions on tags are lost."""
    walk = [(None, iter([{"call": name}]))]
    while walk:
        policy, nodes = walk[-1]
        node = next(nodes, None)
        if node is None:
            walk.pop()
            continue
        callee = node.get("call")
        if "tag" in node.get("match", ()):
            # without the node, its jump to the next node changes nothing
            if callee is None and node.get("_goto", 0) == node["seq"] + 1:
                del node["_goto"]
            condition_lost(im, policy, node, "tag", "routes have no tag in a policy for a neighbour")
        found = im.found("route_policies", callee)
        if found is not None and "_tags" not in found:
            found["_tags"] = True
            walk.append((found, iter(found.get("nodes", ()))))


def _export_families(im):
    for home in ("groups", "peers"):
        for o in im.bgp.get(home, {}).values():
            yield from o.get("families", {}).values()


def _validates(node):
    return "validation" in node.get("match", ())


def _check_validation(im):
    """Puts deny-all in the place of a policy for export or redistribution with conditions on `validation`, which keeld has in import policies alone."""
    for o, key, why in ([(o, "policy", "a policy for redistribution; no route is redistributed") for o in im.bgp.get("redistribute", {}).values()] +
                        [(f, "export_policy", "an export policy; no route is advertised") for f in _export_families(im)]):
        name = o.get(key)
        if any_node(im, name, _validates):
            im.end_report(name, "not carried: validation in " + why)
            o[key] = "deny-all"


def finish_tags(im):
    for f in _export_families(im):
        _finish_tags(im, f.get("export_policy"))


def finish_policies(im):
    """Sorts lists and policies. Replaces missing lists and policies, lost conditions and jumps."""
    for section in LISTS:
        for found in im.document.get(section, {}).values():
            found.setdefault("entries", []).sort(key=lambda entry: entry.get("seq", 0))
            for entry in found["entries"]:
                entry.pop("seq", None)
    for policy in list(im.document.get("route_policies", {}).values()):
        _Finisher(im, policy).finish()


def finish_calls(im):
    """The last of all: calls that are too many, and policies at places where keeld refuses their conditions."""
    _limit_calls(im)
    _check_validation(im)
