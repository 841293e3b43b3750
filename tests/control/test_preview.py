#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keel-policy(7) rule 15, against a real keeld: bgp.refresh.preview of the candidate counts the changes of each peer's routes by the commit,
import and export. Commits are drawn at random: COMMITS (60), SEED (1), RIB_THREADS. Needs root; else the exit status is 77.

usage: test_preview.py KEELD
"""
import functools
import ipaddress
import os
import random
import socket
import struct
import subprocess
import time

import keel_rig
from keel_rig import REFRESH, THEM, UPDATE, US, V4, V6, VRF, KeelTest, Speaker

COMMITS, SEED = int(os.environ.get("COMMITS", 60)), int(os.environ.get("SEED", 1))
OTHER, CLIENT, RECEIVERS = "192.0.2.3", "192.0.2.52", ("192.0.2.50", "192.0.2.51")
ASNS = {THEM: 64513, OTHER: 64514, CLIENT: 64512, RECEIVERS[0]: 64515, RECEIVERS[1]: 64516}
SOURCES = (THEM, OTHER, CLIENT)
PREFIXES = {V4: ["0.0.0.0/0"] + ["20.%d.0.0/16" % i for i in range(20)], V6: ["2001:db8:%x::/48" % i for i in range(0x100, 0x10a)]}
OWN = {V4: ["30.%d.0.0/16" % i for i in range(6)], V6: ["2001:dba:%x::/48" % i for i in range(3)]}  # which no peer announces
INSTANCE = {"vrf": VRF} if VRF else {}
MARK, MARKER = "192.0.2.53", {V4: "45.0.0.0/24", V6: "2001:db9::/48"}
CLUSTERS = (US, "9.9.9.8", "9.9.9.9")


def packed(prefix):
    n = ipaddress.ip_network(prefix)
    return bytes([n.prefixlen]) + n.network_address.packed[:(n.prefixlen + 7) // 8]


def attribute(flags, kind, value):
    return struct.pack(">BBH", flags | 0x10, kind, len(value)) + value


class Source(Speaker):
    """Announces routes with attributes drawn at random."""

    def draw(self, rng):
        """Announces or withdraws about half of the prefixes. The MED, different in each announcement of a prefix, distinguishes routes."""
        for family, prefixes in PREFIXES.items():
            for p in prefixes:
                if rng.random() < 0.4:
                    continue
                present = rng.random() < 0.8
                med = rng.randrange(3) * 1000 + len(self.messages_sent)
                self.messages_sent.append((family, p, med if present else None))
                self.route(family, p, self.attributes_drawn(rng, med)) if present else self.withdraw(family, p)

    def withdraw(self, family, prefix):
        if family == V4:
            nlri = packed(prefix)
            self.send(UPDATE, struct.pack(">H", len(nlri)) + nlri + b"\0\0")
        else:
            a = attribute(0x80, 15, b"\0\2\1" + packed(prefix))
            self.send(UPDATE, struct.pack(">HH", 0, len(a)) + a)

    def route(self, family, prefix, a):
        if family == V4:
            a += attribute(0x40, 3, socket.inet_aton(self.address))
        else:
            hop = socket.inet_pton(socket.AF_INET6, "2001:db8::%x" % int(self.address.split(".")[3]))
            a += attribute(0x80, 14, b"\0\2\1" + bytes([16]) + hop + b"\0" + packed(prefix))
        self.send(UPDATE, struct.pack(">HH", 0, len(a)) + a + (packed(prefix) if family == V4 else b""))

    def attributes_drawn(self, rng, med):
        internal = self.asn == ASNS[CLIENT]
        path = [] if internal else [self.asn]
        path += rng.choice(([], [65100], [65100, 65200], [ASNS[CLIENT], 7]))  # the last choice is a loop
        segments = struct.pack(">BB%dI" % len(path), 2, len(path), *path) if path else b""
        communities = b"".join(struct.pack(">HH", 64512, i) for i in (1, 2) if rng.random() < 0.4)
        a = attribute(0x40, 1, bytes([rng.randrange(2)])) + attribute(0x40, 2, segments) + attribute(0x80, 4, struct.pack(">I", med))
        if communities:
            a += attribute(0xc0, 8, communities)
        if internal:
            a += attribute(0x40, 5, struct.pack(">I", rng.choice((90, 100, 110))))
            if rng.random() < 0.5:
                a += attribute(0x80, 9, socket.inet_aton("10.9.9.9")) + attribute(0x80, 10, socket.inet_aton(rng.choice(CLUSTERS[1:])))
        return a

    def mark(self, family, community):
        path = struct.pack(">BBI", 2, 1, self.asn)
        self.route(family, MARKER[family], attribute(0x40, 1, b"\0") + attribute(0x40, 2, path) + attribute(0xc0, 8, community))

    def announced_now(self, family):
        routes = {}
        for f, p, med in self.messages_sent:
            if f == family:
                routes.pop(p, None)
                if med is not None:
                    routes[p] = med
        return routes


class Told:
    """{family: {prefix: received attributes}} of a speaker, from all messages so far."""

    def __init__(self):
        self.until, self.routes, self.again = 0, {V4: {}, V6: {}}, {}

    def announced(self, family, prefixes, attrs):
        for p in prefixes:
            self.routes[family][p] = attrs
        self.again.get(family, set()).update(prefixes)

    def withdrawn(self, family, prefixes):
        for p in prefixes:
            self.routes[family].pop(p, None)

    def framed(self, family, kind):
        """RFC 7313 4: routes not announced between BoRR and EoRR are removed."""
        if kind == 1:
            self.again[family] = set()
        elif kind == 2:
            again = self.again.pop(family)
            self.routes[family] = {p: a for p, a in self.routes[family].items() if p in again}

    def update(self, b):
        n = struct.unpack(">H", b[:2])[0]
        end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
        found = list(keel_rig.attributes(b[4 + n:end]))
        common = tuple(a for a in found if a[0] not in (14, 15))
        self.withdrawn(V4, keel_rig.prefixes(b[2:2 + n]))
        self.announced(V4, keel_rig.prefixes(b[end:]), common)
        for kind, v in found:
            if kind == 14:
                self.announced(V6, keel_rig.prefixes(v[5 + v[3]:], 6), common + (v[4:4 + v[3]],))
            elif kind == 15:
                self.withdrawn(V6, keel_rig.prefixes(v[3:], 6))

    def read(self, messages):
        until = len(messages)
        for _, kind, b in messages[self.until:until]:
            if kind == UPDATE:
                self.update(b)
            elif kind == REFRESH:
                self.framed(V4 if b[1] == 1 else V6, b[2])
        self.until = until
        return {f: dict(r) for f, r in self.routes.items()}


def difference(before, after):
    return {"added": len(after.keys() - before.keys()), "removed": len(before.keys() - after.keys()),
            "changed": sum(before[p] != after[p] for p in before.keys() & after.keys())}


class Drawn:
    """A configuration; each draw() changes a part."""

    def __init__(self, rng):
        self.rng, self.part = rng, {}
        for name in self.parts():
            self.part[name] = self.parts()[name]()

    def parts(self):
        parts = {"list-%d" % i: self.prefixes for i in range(3)}
        parts.update({"tag-%d" % i: self.tag for i in range(2)})
        parts.update({"in-" + a: self.import_policy for a in SOURCES})
        parts.update({"out-" + a: self.export_policy for a in ASNS})
        parts.update({"peer-" + a: self.switches for a in ASNS})
        parts.update(networks=self.networks, statics=self.statics, redistribute=self.redistribute, own=self.import_policy,
                     preference=lambda: {k: self.rng.randrange(1, 200) for k in ("static", "external", "internal")})
        parts.update(cluster=lambda: self.rng.choice(CLUSTERS), max_paths=lambda: self.rng.randint(1, 2))
        return parts

    def draw(self):
        for name in self.rng.sample(sorted(self.parts()), self.rng.choice((1, 1, 2, 3, 6))):
            self.part[name] = self.parts()[name]()
        if self.rng.random() < 0.2:
            self.rename()

    def rename(self):
        """Imports add another community, matched by the exports: no effect on routes without other communities."""
        tag = "64512:%d" % self.rng.randrange(10, 14)
        for a in SOURCES:
            self.part["in-" + a] = [{"seq": 10, "action": "permit", "set": {"communities": {"add": [tag]}}}]
        self.part["tag-0"] = [{"action": "permit", "community": tag}]
        for a in RECEIVERS:
            self.part["out-" + a] = [{"seq": 10, "action": "permit", "match": {"community_list": "tag-0"}}]

    def prefixes(self):
        some = self.rng.sample(PREFIXES[V4] + PREFIXES[V6], 8)
        return [{"action": self.rng.choice(("permit", "permit", "deny")), "prefix": p} for p in some] + \
            [{"action": "permit", "prefix": p, "le": n} for p, n in (("20.0.0.0/13", 24), ("2001:db8::/32", 64)) if self.rng.random() < 0.5]

    def tag(self):
        return [{"action": "permit", "community": "64512:%d" % self.rng.randint(1, 3)}]

    def match(self):
        match = {}
        if self.rng.random() < 0.4:
            match["prefix_list"] = "list-%d" % self.rng.randrange(3)
        if self.rng.random() < 0.3:
            match["community_list"] = "tag-%d" % self.rng.randrange(2)
        return match

    def node(self, seq):
        node = {"seq": seq, "action": self.rng.choice(("permit", "permit", "permit", "deny")), "match": self.match()}
        if node["action"] == "deny":
            return node
        choose, node["set"] = self.rng.random, {}
        if choose() < 0.4:
            node["set"]["local_pref"] = self.rng.choice((90, 100, 110))
        if choose() < 0.3:
            node["set"]["med"] = self.rng.randrange(3)
        if choose() < 0.4:
            node["set"]["communities"] = {self.rng.choice(("add", "remove", "replace")): ["64512:%d" % self.rng.randint(1, 3)]}
        if choose() < 0.2:
            node["set"]["as_path_prepend"] = {"asn": 65300, "count": self.rng.randint(1, 2)}
        if choose() < 0.2 and "prefix_list" not in node["match"]:
            node["match"]["family"] = V4
            node["set"]["next_hop"] = self.rng.choice((THEM, OTHER, CLIENT))
        return node

    def some(self, most):
        """Prefixes of this router, some of which peers announce, too."""
        every = PREFIXES[V4] + PREFIXES[V6] + 2 * (OWN[V4] + OWN[V6])
        return sorted({p for p in self.rng.sample(every, self.rng.randrange(most))})

    def networks(self):
        return [{"prefix": p} for p in self.some(6)]

    def statics(self):
        return [dict({"prefix": p, "tag": self.rng.randrange(3)}, **INSTANCE, **({"blackhole": True} if self.rng.random() < 0.5 else
                {"next_hop": "192.0.2.%d" % self.rng.randrange(60, 64) if "." in p else "2001:db8::%x" % self.rng.randrange(60, 64)})) for p in self.some(8)]

    def redistribute(self):
        """Static and connected routes, with and without a policy; the marker tells of the receivers' state, so nothing touches it."""
        return [dict({"source": s}, **INSTANCE, **({"policy": "own"} if self.rng.random() < 0.5 else {})) for s in ("static", "connected") if self.rng.random() < 0.6]

    def import_policy(self):
        return [self.node(10 * (i + 1)) for i in range(self.rng.randint(1, 3))]

    export_policy = import_policy

    def switches(self):
        return {"next_hop_unchanged": self.rng.random() < 0.5, "default_originate": self.rng.random() < 0.2,
                "remove_private_as": self.rng.random() < 0.2, "allow_as_in": self.rng.randrange(2),
                "graceful_shutdown": self.rng.random() < 0.2, "route_server_client": self.rng.random() < 0.2}

    def families(self, address):
        s = self.part["peer-" + address]
        common = {"export_policy": "out-" + address, "default_originate": s["default_originate"]}
        if address == CLIENT:
            common["next_hop_self"] = s["next_hop_unchanged"]
        else:
            common["remove_private_as"] = s["remove_private_as"]
        if address in SOURCES:
            common.update(import_policy="in-" + address, keep_all_routes=True, allow_as_in=s["allow_as_in"])
        external = address != CLIENT
        return {V4: dict(common, **({"next_hop_unchanged": s["next_hop_unchanged"]} if external else {})),
                V6: dict(common, **({"next_hop_unchanged": True} if external else {"next_hop_self": False}))}

    def document(self):
        def named(what, key, always=()):
            return [{"name": n, key: list(always) + v} for n, v in self.part.items() if n.startswith(what)]
        mark = [{"seq": 1, "action": "permit", "match": {"prefix_list": "mark"}}]
        peers = [{"address": a, "asn": asn, "passive": True, "families": self.families(a)} for a, asn in ASNS.items()]
        peers[2]["route_reflector_client"] = True
        for p in peers:
            switches = self.part["peer-" + p["address"]]
            p["graceful_shutdown"] = {"send": switches["graceful_shutdown"]}
            p["route_server_client"] = switches["route_server_client"] and p["address"] != CLIENT
        peers.append({"address": MARK, "asn": 64517, "passive": True, "families": {f: {"import_policy": "accept-all"} for f in MARKER}})
        return {"prefix_lists": named("list-", "entries") + [{"name": "mark", "entries": [{"action": "permit", "prefix": p} for p in MARKER.values()]}], "community_lists": named("tag-", "entries"),
                "route_policies": named("in-", "nodes") + named("out-", "nodes", mark) + [{"name": "own", "nodes": self.part["own"]}],
                "static_routes": self.part["statics"], "preference": self.part["preference"],
                "bgp": {"networks": self.part["networks"], "redistribute": self.part["redistribute"], "next_hop_tracking": False, "cluster_id": self.part["cluster"], "max_paths": self.part["max_paths"], "peers": peers}}


class Preview(KeelTest):
    def setUp(self):
        super().setUp()
        self.speakers, self.serial, self.ended = {}, 0, []

    def join(self, kind, address, asn=None):
        end = time.monotonic() + keel_rig.WAIT_S
        while True:
            s = kind(self.namespace, address=address, asn=asn or ASNS[address])
            self.addCleanup(s.close)
            s.messages_sent, s.told = [], Told()
            if s.established():
                break
            s.close()
            assert time.monotonic() < end, self.keel.logged()
        self.wait("the end of what it begins with", lambda: self.begun(s), s.changed)
        return s

    def adj_in(self, view="adj-in"):
        volatile = ("age_s", "best", "valid", "reason", "multipath", "stale")
        return {(a, f): {r["prefix"]: {k: v for k, v in r.items() if k not in volatile}
                         for r in self.keel.call("rib.routes", {"view": view, "family": f, "peer": a, "limit": 10000})["routes"]}
                for a in SOURCES if a not in self.ended for f in (V4, V6)}

    def routes_drawn(self, rng):
        for a in SOURCES:
            self.speakers[a].draw(rng)

        def arrived():
            pre = self.adj_in("adj-in-pre")
            return all({p: r["med"] for p, r in pre[a, f].items()} == self.speakers[a].announced_now(f) for a in SOURCES for f in (V4, V6))
        self.wait("the routes", arrived)

    def marked(self):
        """Waits until every peer has all earlier changes: changes arrive in order, except within a batch, and the second marker is in a later
        batch."""
        for _ in range(2):
            self.serial += 1
            value = struct.pack(">HH", 64999, self.serial)
            for family in (V4, V6):
                self.marker.mark(family, value)
            for a, s in self.speakers.items():
                self.wait("the marker", lambda: all(any(x[0] == 8 and value in x[1] for x in self.table(a)[f].get(MARKER[f], ())) for f in (V4, V6)), s.changed)

    def refreshed(self):
        """Waits for a refresh, which follows all walks of differences."""
        before = {a: len(s.messages) for a, s in self.speakers.items()}
        for s in self.speakers.values():
            for afi in (1, 2):
                s.send(REFRESH, struct.pack(">HBB", afi, 0, 1))
        for a, s in self.speakers.items():
            self.wait("EoRR", lambda: sum(k == REFRESH and b[2] == 2 for _, k, b in s.messages[before[a]:]) == 2, s.changed)

    def told(self):
        self.marked()
        self.refreshed()
        tables = {a: self.table(a) for a in self.speakers}
        for routes in tables.values():
            for f, p in MARKER.items():
                serial = struct.pack(">HH", 64999, self.serial)
                routes[f][p] = tuple((8, a[1].replace(serial, b"")) if a[0] == 8 else a for a in routes[f][p])
        return tables

    def table(self, address):
        return self.speakers[address].told.read(self.speakers[address].messages)

    def state(self):
        out = self.told()
        state = {(a, f, "export"): out[a][f] for a in out for f in (V4, V6)}
        state.update({(a, f, "import"): routes for (a, f), routes in self.adj_in().items()})
        return state

    def committed(self, document):
        """The lines of the preview, and the state after the commit."""
        self.keel.call("config.edit", {"merge": document})
        preview = self.keel.call("bgp.refresh.preview", {"candidate": True})
        lines, said = preview["peers"], preview["effects"]
        effects = self.keel.call("config.commit")["effects"]
        order = functools.partial(sorted, key=lambda e: (str(e["address"]), str(e["family"]), str(e["direction"])))
        self.assertEqual(order({k: v for k, v in e.items() if k != "job"} for e in effects), order(said))
        self.assertEqual([e for e in effects if e["effect"] in ("session-reset", "not-applied") and e["address"] not in self.ended], [])
        self.wait_jobs(effects)
        self.wait("the plan's end", lambda: not self.keel.call("system.info")["commit_plan"]["running"])
        return lines, self.state()

    def test_a_tag_renamed(self):
        """Imports add 64512:2 in place of 64512:1, and the export policy of one receiver matches 64512:2: its routes change and stay. The other
        receiver's configuration is unchanged, and its routes change, too."""
        def document(tag):
            community = "64512:%d" % tag
            return {"community_lists": [{"name": "tag", "entries": [{"action": "permit", "community": community}]}],
                    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"communities": {"add": [community]}}}]},
                                       {"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"community_list": "tag"}}]},
                                       {"name": "whole", "nodes": [{"seq": 10, "action": "permit"}]}]}
        families = {THEM: {"import_policy": "in", "keep_all_routes": True}, RECEIVERS[0]: {"export_policy": "out"}, RECEIVERS[1]: {"export_policy": "whole"}}
        self.start(dict(document(1), router={"asn": 64512, "router_id": US}, bgp={"next_hop_tracking": False, "peers": [
            {"address": a, "asn": ASNS[a], "passive": True, "families": {V4: f}} for a, f in families.items()]}))
        for a in families:
            self.speakers[a] = self.join(Speaker, a)
        self.speakers[THEM].announce(*("20.0.%d.0" % i for i in range(100)))
        for a in RECEIVERS:
            self.wait("the routes", lambda: len(self.table(a)[V4]) == 100, self.speakers[a].changed)
        self.keel.call("config.edit", {"merge": document(2)})
        lines = self.keel.call("bgp.refresh.preview", {"candidate": True})["peers"]
        self.assertEqual([(l["address"], l["family"], l["direction"], l["exact"], l["added"], l["removed"], l["changed"]) for l in lines],
                         [(THEM, V4, "import", True, 0, 0, 100)] + [(a, V4, "export", True, 0, 0, 100) for a in RECEIVERS])

    def compared(self, where, lines, before, after):
        """What happened to each peer is what its line says; without a line nothing did."""
        counted = {(l["address"], l["family"], l["direction"]): {k: l[k] for k in ("added", "removed", "changed")} for l in lines}
        self.assertEqual(len(counted), len(lines), where)
        self.assertTrue(all(l["exact"] for l in lines), (where, lines))
        for key in before:
            happened = difference(before[key], after.get(key, {}))
            self.assertEqual(counted.get(key, dict.fromkeys(happened, 0)), happened, (where, key))
            for k, n in happened.items():
                self.total[key[2], k] = self.total.get((key[2], k), 0) + n

    def test_sessions_that_end(self):
        """A peer is removed or shut down, together with other changes: all its routes go, and what the others get changes."""
        rng = random.Random(SEED)
        drawn, self.total = Drawn(rng), {}
        self.start(dict(drawn.document(), router={"asn": 64512, "router_id": US}))
        for a in ASNS:
            self.speakers[a] = self.join(Source if a in SOURCES else Speaker, a)
        self.marker = self.join(Source, MARK, 64517)
        for i, address in enumerate((THEM, RECEIVERS[0], CLIENT, OTHER)):
            self.routes_drawn(rng)
            before, old = self.state(), drawn.document()
            gone = self.speakers.pop(address)
            self.ended = [address]
            drawn.draw()
            document = drawn.document()
            peers = document["bgp"]["peers"]
            at = [p["address"] for p in peers].index(address)
            if i % 2:
                peers[at]["shutdown"] = True
            else:
                del peers[at]
            lines, after = self.committed(document)
            self.wait("the end of the session", gone.closed, gone.changed)
            self.compared("seed %d, %s ends" % (SEED, address), lines, before, after)
            self.assertEqual({l["address"] for l in lines if l["removed"]} & {address}, {address})
            self.keel.call("config.edit", {"merge": old})
            self.keel.call("config.commit")
            self.ended = []
            self.speakers[address] = self.join(Source if address in SOURCES else Speaker, address)

    def test_preview_is_what_the_commit_does(self):
        rng = random.Random(SEED)
        drawn = Drawn(rng)
        self.start(dict(drawn.document(), router={"asn": 64512, "router_id": US}))
        for a in ASNS:
            self.speakers[a] = self.join(Source if a in SOURCES else Speaker, a)
        self.marker, self.total = self.join(Source, MARK, 64517), {}
        for i in range(COMMITS):
            if i % 20 == 0:
                self.routes_drawn(rng)
                before = self.state()
            drawn.draw()
            document = drawn.document()
            lines, after = self.committed(document)
            self.compared("seed %d, commit %d" % (SEED, i), lines, before, after)
            before = after
        self.assertEqual(len([n for n in self.total.values() if n > 0]), 6, self.total)
        print(self.total, flush=True)


if __name__ == "__main__":
    keel_rig.main()
