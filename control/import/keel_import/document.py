# SPDX-License-Identifier: BSD-3-Clause
"""What the dialects share: the document under construction, and the verdict of each line: `done`, `changed: how` or `not carried: why`. A line is only
carried if the key of keel.json has the same meaning.

Sections of named elements are dicts {name: element} until result(). A key with `_` before it belongs to the translation; result() leaves it out:
  _wider       of a node: a condition is not carried            _deny_wider   the same of a node that denies
  _goto        of a node: goes on at the first node from there  _delete       of a node: {key of `set`: list of communities to remove}
  _lost        of a node: a change is not carried               _family       of a node: the family of its prefix list
  _partial     of a list: an entry is not carried               _unusable     of a list: its values are not known
  _filters_in, _filters_out  of a family: {key of `match`: name of a list; False: not carried}, beside the policy
"""
import re

from . import keys, texts
from .texts import FAMILIES, V4

NODE_MAX = 65535  # the largest number of a node of bgpd and VRP
PREPEND_MAX = 64  # AS numbers of a node
PATHS_MAX = 64  # the largest bgp.max_paths
PASSWORD_MAX = 80  # octets of a key of TCP MD5
CACHES_MAX = 16
DESCRIPTION_MAX = 4096  # octets
DAY = 86400  # the largest max_prefixes.restart_s
SECTIONS = frozenset(("prefix_lists", "as_path_lists", "community_lists", "large_community_lists", "ext_community_lists", "route_policies"))
BGP_SECTIONS = frozenset(("peers", "groups", "listen_ranges", "networks", "redistribute"))
# Other numbers are of 32 bits.
RANGES = {**keys.RANGES, "limit": (1, texts.MOST_U32), "threshold_percent": (1, 100), "restart_s": (1, DAY), "port": (1, 65535), "preference": (0, 255)}


def value_of(o, group, key):
    """A key of the neighbour, or of its group (None: no group)."""
    value = o.get(key) if o else None
    return value if value is not None or not group else group.get(key)


def equal(a, b):
    """True if both values are there and equal."""
    return a is not None and a == b


def accept_all(family, inherited):
    """All routes pass in a direction of the family that has no policy."""
    for key in ("import_policy", "export_policy"):
        if value_of(family, inherited, key) is None:
            family[key] = "accept-all"


def password_fault(text):
    """The verdict if keeld refuses the password, or None."""
    if len(text.encode()) > PASSWORD_MAX:
        return "not carried: a password has at most 80 octets"
    if not text:
        return "not carried: the password is empty"
    return 'not carried: "***" stands for a hidden password' if text == "***" else None


# Words of lines with a key; a text of BIRD that begins a line, or is the value of a constant, may be one.
SECRET = re.compile(r"password|cipher|secret|key-string|md5|authentication|^\s*\"|\bdefine\s+\S+\s*=\s*\"")


class Import:
    """One translation. `path`: of the file."""

    def __init__(self, path):
        self.path = path
        self.report = []  # lines for standard error
        self.router, self.bgp = {}, {}
        self.document = {"router": self.router, "bgp": self.bgp}
        self.not_carried = 0
        self.line = 0  # the number of the present line
        self.verdict = ""  # of the present line; "" while it is done
        self.names = {}  # {name in keel.json: name in the file}
        self.name_of, self.counts = {}, {}  # {(name in the file, as a name): name in keel.json}; {name: the last number behind it}
        self.routes = {}  # {prefix: [static route]}
        self.filter_policies = {}  # {nodes as a text: name}
        self.node = None  # the entry of a route map
        self.last_node = None  # the one opened last
        self.family = V4  # of an address-family block; V4 outside; None: a family that is not carried
        self.in_bgp = self.in_rpki = False
        self.no_default_family = False
        self.missing_matches_all = False  # a missing list matches all routes, not none
        self.first_gateway = False  # the daemon advertises the first of several gateways
        self.own_next_hop = False  # the daemon advertises no gateways, as keeld

    # ---- verdicts ----

    def say(self, verdict):
        """Sets the verdict of the present line; always True: the line needs no other."""
        self.verdict = verdict
        return True

    def lost(self, why):
        return self.say("not carried: " + why)

    def changed(self, how):
        return self.say("changed: " + how)

    @property
    def is_lost(self):
        return self.verdict.startswith("n")

    def report_line(self, place, text, verdict):
        """Reports the verdict (None, "": done) of a line; `place`: its number, or FILE:NUMBER."""
        if verdict and verdict.startswith("not"):
            self.not_carried += 1
        if SECRET.search(text):
            text = "password"
        self.report.append("%s: %s: %s\n" % (place, texts.safe(text), texts.safe(verdict) if verdict else "done"))

    def end_report(self, what, verdict):
        """A verdict about the whole, after the lines of the file."""
        self.line += 1
        self.report_line(self.line, what, verdict)

    # ---- sections ----

    def section(self, name):
        """{name: element} of a section of lists or policies."""
        return self.document.setdefault(name, {})

    def of_bgp(self, name):
        """{name: element} of a section of `bgp`."""
        return self.bgp.setdefault(name, {})

    def element(self, section, name):
        """The list or policy of this name; made where it is missing."""
        return self.section(section).setdefault(name, {"name": name})

    def found(self, section, name):
        """The list or policy of this name, or None."""
        return self.document.get(section, {}).get(name)

    def group_of(self, o):
        """The group of a neighbour, or None."""
        return self.bgp.get("groups", {}).get(o.get("group"))

    def peer(self, address):
        """The neighbour with the address, or None. Equal addresses can differ as texts."""
        return self.bgp.get("peers", {}).get(texts.address_key(address) or address)

    def peer_made(self, address):
        return self.of_bgp("peers").setdefault(texts.address_key(address) or address, {"address": address})

    def group_made(self, name):
        return self.of_bgp("groups").setdefault(name, {"name": name})

    def static_route(self, o):
        """Takes a static route. Returns None, or the verdict if keeld refuses the route."""
        hop, same = o.get("next_hop"), self.routes.setdefault(o["prefix"], {})
        kind = "next_hop" if hop is not None else "blackhole"
        why = None
        if hop is not None and not texts.is_host(hop):
            why = "not carried: the next hop is no address of a host"
        elif hop is not None and texts.is_six(o["prefix"]) and not texts.is_six(hop):
            why = "not carried: an IPv6 prefix needs an IPv6 next hop"
        if same and kind not in same:
            why = "not carried: the prefix has a route of another kind"
        elif same and (hop is None or texts.address_key(hop) in same[kind]):
            why = "changed: left out; the route occurs before"
        if why is None:
            same.setdefault(kind, set()).add(texts.address_key(hop or ""))
            self.document.setdefault("static_routes", []).append(o)
        return why

    # ---- values ----

    def set_number(self, o, key, text):
        """Sets a number; a word that is not a number, or a number that keeld refuses, is not carried."""
        n = texts.number(text)
        if n is None:
            return self.lost('"%.32s" is not a number' % (text or ""))
        low, high = RANGES.get(key, (0, texts.MOST_U32))
        if not low <= n <= high:
            return self.lost("%s is a number from %d to %d" % (key, low, high))
        o[key] = n
        return True

    def set_id(self, o, key, text):
        """Sets an id, an IPv4 address other than 0.0.0.0."""
        if not texts.is_id(text):
            return self.lost('"%.32s" is not an IPv4 address other than 0.0.0.0' % (text or ""))
        o[key] = text
        return True

    def set_asn(self, o, text):
        n = texts.asn(text)
        if n is None:
            return self.lost('"%.32s" is not an AS number' % text)
        o["asn"] = n
        return True

    def set_password(self, o, text):
        fault = password_fault(text)
        if fault is not None:
            return self.say(fault)
        o["password"] = text
        return True

    def set_next_hop(self, changes, address):
        """Sets the next hop of a node; a second one, of the other family, is not carried."""
        old = changes.get("next_hop")
        if not texts.is_host(address) or "%" in address:
            return self.lost('a policy cannot set the next hop "%.45s"' % address)
        if old is not None and texts.is_six(old) != texts.is_six(address):
            return self.lost("a node sets the next hop of one family")
        changes["next_hop"] = address
        return True

    def set_max_paths(self, text):
        n = texts.number(text)
        if not n:
            return self.lost('"%.32s" is no count of paths' % text)
        if n > PATHS_MAX:
            self.changed("max_paths is 64, the largest value")
        self.bgp["max_paths"] = min(n, PATHS_MAX)
        return True

    def set_timers(self, timers, keepalive, hold):
        """The keepalive time and the hold time, which are 0 where neither is in use."""
        k, h = texts.number(keepalive), texts.number(hold)
        if k is None or h is None or h > 65535 or h in (1, 2):
            return self.lost("%.32s %.32s are no timers of keeld" % (keepalive, hold))
        timers.pop("keepalive_s", None)
        timers["hold_s"] = h
        # both daemons send a keepalive after a third of the hold time at the latest
        if k > h // 3 or h == 0:
            return True
        if k == 0:
            return self.changed("the keepalive time is a third of the hold time")
        timers["keepalive_s"] = k
        return True

    def set_restart(self, limit, minutes):
        """The session is established again after a number of minutes, at most a day."""
        if minutes > DAY // 60:
            self.changed("the session is established again after a day")
        limit["restart_s"] = min(minutes * 60, DAY)

    def add_cache(self, cache):
        """Takes a cache of ROAs; False, with the verdict: not carried."""
        caches, address = self.document.setdefault("rpki", {}).setdefault("caches", []), cache.get("address")
        if self.is_lost:
            return False
        if not texts.is_host(address):
            self.lost("no address of a host")
        elif any(texts.same_address(c["address"], address) and c.get("port", 323) == cache.get("port", 323) for c in caches):
            self.lost("the cache occurs before")
        elif len(caches) == CACHES_MAX:
            self.lost("keeld has at most %d caches" % CACHES_MAX)
        else:
            caches.append(cache)
        return not self.is_lost

    # ---- names ----

    def unique(self, original, name):
        """`name` for the name of the file, with a number behind it where a different name of the file has it."""
        key = original, name
        got = self.name_of.get(key)
        if got is None:
            got, n = name, self.counts.get(name[:51], 1)
            while self.names.get(got, original) != original:
                n += 1
                got = ("%s-%d" % (name[:51], n))[:63]
            if n > 1:
                self.counts[name[:51]] = n
            self.names[got] = original
            self.name_of[key] = got
        return got

    def name(self, name):
        """The name of keel.json; sets the verdict if it is not the name of the file."""
        got = self.name_of.get(name)
        if got is None:
            got = self.name_of[name] = self.unique(name, texts.name_text(name))
        if got != name:
            self.changed('the name is "%s"' % got)
        return got

    # ---- lists ----

    def list_partial(self, section, name):
        """An entry of the list is not carried: finish() treats the list as unknown."""
        verdict = self.verdict
        found = self.element(section, self.name(name))
        self.verdict = verdict
        found.setdefault("entries", [])
        found["_partial"] = True
        return False

    def entry_lost(self, section, name, why):
        self.list_partial(section, name)
        return self.lost(why)

    def list_entry(self, section, name, seq, entry):
        """Takes the entry. An entry without `seq` (a text) follows the last entry; an entry with a known `seq` replaces the old entry."""
        found = self.element(section, self.name(name))
        entries, places = found.setdefault("entries", []), found.setdefault("_places", {})
        fault = _entry_fault(entry)
        if fault is not None:
            return self.entry_lost(section, name, fault)
        last = found.get("_last", 0)
        n = last // 5 * 5 + 5 if seq is None else texts.number(seq)  # as bgpd counts
        if n is None:
            return self.entry_lost(section, name, '"%.32s" is not a number' % seq)
        found["_last"] = max(n, last)
        entry["seq"] = n
        # bgpd and VRP have a list of each family under one name, with entries of equal numbers
        place = n, texts.is_six(entry.get("prefix", ""))
        if place in places:
            self.changed("replaces the entry %d before" % n)
            entries[places[place]] = entry
        else:
            places[place] = len(entries)
            entries.append(entry)
        return True

    def community(self, word, large):
        """A community as keeld reads it; None, with the verdict: not a community."""
        text = texts.community(word, large)
        if text is None:
            self.lost('"%.40s" is not a community' % word)
        return text

    # ---- policies ----

    def open_node(self, policy, seq, action):
        """The node `seq` of a policy, made where it is missing, with its action: self.node from now on."""
        found = self.element("route_policies", self.name(policy))
        nodes, places = found.setdefault("nodes", []), found.setdefault("_places", {})
        node = places.get(seq)
        if node is None:
            node = places[seq] = {"seq": seq}
            nodes.append(node)
        self.node = self.last_node = node
        if action == "deny":  # a deny calls nothing and ends the walk
            if "call" in node or "_goto" in node or "_wider" in node:
                node["_deny_wider"] = True
            for key in ("call", "_goto", "_wider"):
                node.pop(key, None)
        elif node.get("action") == "deny" and "_deny_wider" in node:
            node["_wider"] = True
            self.lost("node %d would permit too much, and is left out" % seq)
        node["action"] = action
        return True

    def stray(self):
        """A condition outside of a node: a line that is not known came between, and the condition belongs to the last node."""
        self.node = self.last_node
        if self.node is not None:
            self.wider_node()
        self.node = None
        return False

    def wider_node(self):
        """A condition of the node is lost. A deny stays, and denies more. A permit would permit too much: finish() removes the node."""
        self.node["_deny_wider"] = True
        if self.node["action"] != "permit":
            return False
        self.node["_wider"] = True
        return self.lost("node %d would permit too much, and is left out" % self.node["seq"])

    def set_communities(self, changes, key, words):
        """{communities | large_communities} of a node: values, `none`, and `additive` at the end."""
        add = len(words) > 1 and words[-1] == "additive"
        values = []
        for word in words[:len(words) - add]:
            text = None if word == "none" else self.community(word, key == "large_communities")
            if self.is_lost:
                return False
            values += [text] if text else []
        changes.setdefault(key, {})["add" if add else "replace"] = values
        return True

    def prepend(self, changes, words):
        """The AS numbers that are put before the path: one number, once or more."""
        numbers = [texts.asn(word) for word in words]
        if None in numbers or len(words) > PREPEND_MAX:
            return False
        if len(set(words)) > 1:
            return self.lost("only one AS number is prepended")
        changes["as_path_prepend"] = {"asn": numbers[0], "count": len(words)}
        return True

    def redistribute(self, source, policy):
        """`source` is redistributed in the present family. `policy`: a name of the file; None: none."""
        o = self.of_bgp("redistribute").setdefault(source, {"source": source})
        o.setdefault("_families", {})[self.family] = {} if policy is None else {"policy": self.name(policy)}
        return True

    # ---- neighbours ----

    def family_made(self, o):
        """The present family of a neighbour or a group; made where it is missing."""
        return o.setdefault("families", {}).setdefault(self.family, {})

    @staticmethod
    def add_filter(family, inward, key, name):
        """A filter of a neighbour beside its policy: `key` of `match` and the name of a list. False: the filter is not carried, and no route passes."""
        family.setdefault("_filters_in" if inward else "_filters_out", {})[key] = name

    def key_of_families(self, key):
        """The key `_KEY` of families as KEY of the neighbour or group, which holds for all families. It is not carried unless all families in use
        have it. Call it before the families by default are added."""
        for home, what in (("groups", "name"), ("peers", "address")):
            for o in self.bgp.get(home, {}).values():
                group = self.group_of(o)
                used, having = self._families_with(o, group, "_" + key)
                every = 0 < having == used
                if every and (not group or group.get(key) is not True):
                    o[key] = True
                if not every and group and group.get(key) is True:
                    o[key] = False
                if 0 < having < used:
                    self.end_report(o[what], "not carried: %s of one family; keeld has it for all" % key)
                if every and not self.no_default_family and value_of(o.get("families"), group and group.get("families"), V4) is None:
                    self.end_report(o[what], "changed: %s holds for IPv4 too, which the neighbour has by default" % key)

    def _families_with(self, o, group, key):
        """How many families with lines of the file are in use, and how many of these have the temporary key."""
        used = having = 0
        for name in FAMILIES:
            f, theirs = o.get("families", {}).get(name), (group or {}).get("families", {}).get(name)
            enabled = value_of(f, theirs, "enabled")
            unused = (f is None and theirs is None) or self.no_default_family or name != V4
            if enabled is False or (enabled is None and unused):
                continue
            used += 1
            having += value_of(f, theirs, key) is True
        return used, having

    # ---- the result ----

    def result(self):
        """The document of keel.json. Nothing else may be done with the translation after it."""
        self._finish(self.document)
        for home, names in ((self.document, SECTIONS), (self.bgp, BGP_SECTIONS)):
            for name in names & home.keys():
                home[name] = list(home[name].values())
        return self.document

    def _finish(self, o):
        """Removes the keys of the translation; shortens descriptions that are too long, with a verdict."""
        for key in [key for key in o if key[0] == "_"]:
            del o[key]
        for key, value in o.items():
            if isinstance(value, dict):
                self._finish(value)
            elif isinstance(value, list):
                for element in value:
                    if isinstance(element, dict):
                        self._finish(element)
            elif key == "description" and len(value.encode()) > DESCRIPTION_MAX:
                o[key] = value.encode()[:DESCRIPTION_MAX].decode(errors="ignore")
                self.end_report(key, "changed: only the first %d octets are kept" % len(o[key].encode()))


def _entry_fault(entry):
    """The reason why keeld refuses the entry; None: none."""
    if "regex" in entry:
        return None if texts.is_regex(entry["regex"]) else "keeld does not read the expression"
    if "prefix" not in entry:
        return None
    most, length = texts.most_bits(entry["prefix"]), int(entry["prefix"].partition("/")[2])
    low = entry.get("ge", length)
    return None if length <= low <= most and low <= entry.get("le", low) <= most else "the range of lengths is empty"
