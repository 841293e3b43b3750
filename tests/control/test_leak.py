#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Routes between VPN instances of two keelds with a VPNv4 and VPNv6 session: a network of an instance reaches the instances of both daemons that import one
of its targets, and follows each change of targets, distinguishers, limits and routes. test_random takes RANDOM_S seconds (2), with SEED (1). Needs root
(network namespaces); else the exit status is 77.

usage: test_leak.py KEELD
"""
import concurrent.futures
import os
import random
import subprocess
import tempfile
import shutil

import keel_rig
from keel_rig import Keel, KeelTest, V4, V6

VPN = {V4: "vpnv4-unicast", V6: "vpnv6-unicast"}
NET = {V4: "10.0.%d.0/24", V6: "2001:db8:%d::/48"}
RANDOM_S, SEED = int(os.environ.get("RANDOM_S", 2)), int(os.environ.get("SEED", 1))
EACH = 30  # networks of an instance of test_random
OURS, THEIRS = "198.51.100.1", "198.51.100.2"


def vrf(name, rd=None, imports=(), exports=(), **more):
    """Targets are numbers."""
    entry = dict({"name": name, "import_targets": ["64512:%d" % t for t in imports]}, **more)
    return dict(entry, rd="64512:%d" % rd, export_targets=["64512:%d" % t for t in exports]) if rd else entry


def networks(name, *numbers):
    return [{"prefix": NET[family] % n, "vrf": name} for n in numbers for family in (V4, V6)]


def document(address, other, vrfs, routes):
    peer = {"address": other, "asn": 64512, "source": address, "families": {VPN[V4]: {}, VPN[V6]: {}}}
    if "RIB_THREADS" in os.environ:
        more = {"dataplane": {"rib_threads": int(os.environ["RIB_THREADS"])}}
    else:
        more = {}
    return dict({"router": {"asn": 64512, "router_id": address}, "vrfs": vrfs,
                 "bgp": {"peers": [peer], "networks": routes, "next_hop_tracking": False}}, **more)


class Leak(KeelTest):
    def setUp(self):
        super().setUp()
        self.other = self.namespace + "b"
        subprocess.run(["ip", "netns", "add", self.other], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.other], check=True)
        subprocess.run(["ip", "-n", self.namespace, "link", "add", "pe-a", "type", "veth", "peer", "name", "pe-b", "netns", self.other], check=True)
        for ns, port, address in ((self.namespace, "pe-a", OURS), (self.other, "pe-b", THEIRS)):
            for line in ("link set lo up", "addr add %s/24 dev %s" % (address, port), "link set %s up" % port):
                subprocess.run(["ip", "-n", ns] + line.split(), check=True)

    def both(self, ours, our_routes, theirs, their_routes):
        self.start(document(OURS, THEIRS, ours, our_routes))
        folder = tempfile.mkdtemp(prefix="keel-leak-")
        self.addCleanup(shutil.rmtree, folder)
        self.peer = Keel(self.other, folder, document(THEIRS, OURS, theirs, their_routes))
        self.addCleanup(self.peer.log.close)
        self.addCleanup(self.peer.stop)

    def routes(self, keel, name, family=V4):
        """{number of the network: [(rd, peer, labels)]}"""
        found = {}
        for r in keel.call("rib.routes", {"family": family, "vrf": name, "view": "loc", "limit": 10000})["routes"]:
            number = int((r["prefix"].split(".") if family == V4 else r["prefix"].split(":"))[2] or 0)  # 2001:db8:0:: is 2001:db8::
            found.setdefault(number, []).append((r.get("rd"), r["peer"], r.get("labels")))
        return {n: sorted(paths, key=str) for n, paths in found.items()}

    def expect(self, what, keel, name, wanted):
        for family in (V4, V6):
            self.wait("%s, %s of %s" % (what, family, name), lambda: self.routes(keel, name, family) == wanted,
                      lambda: self.routes(keel, name, family))

    def wait(self, what, test, shown):
        end = keel_rig.time.monotonic() + keel_rig.WAIT_S
        while not test():
            assert keel_rig.time.monotonic() < end, (what, shown())
            keel_rig.threading.Event().wait(0.01)

    def test_targets(self):
        red, blue = vrf("red", 1, [1], [1]), vrf("blue", 2, [1, 2], [2])
        green = vrf("green", 9, [2], [1])
        self.both([red, blue], networks("red", 1) + networks("blue", 2), [green], networks("green", 3))
        own, remote = [(None, None, None)], [("64512:9", THEIRS, [16])]
        local = {"red": [("64512:1", None, None)], "blue": [("64512:2", None, None)]}
        self.expect("own and remote", self.keel, "red", {1: own, 3: remote})
        self.expect("own, local and remote", self.keel, "blue", {1: local["red"], 2: own, 3: remote})
        self.expect("remote", self.peer, "green", {2: [("64512:2", OURS, [17])], 3: own})
        for family in (V4, V6):
            vpn = {(r["rd"], tuple(r["labels"]), r["peer"]): r for r in self.keel.call("rib.routes", {"family": VPN[family], "view": "loc"})["routes"]}
            self.assertEqual(set(vpn), {("64512:1", (16,), None), ("64512:2", (17,), None), ("64512:9", (16,), THEIRS)})
            self.assertEqual(vpn["64512:2", (17,), None]["ext_communities"], ["rt:64512:2"])
            stored = self.peer.call("rib.routes", {"family": VPN[family], "view": "loc"})["routes"]
            # not the route of red, which no instance there imports
            self.assertEqual([(r["peer"], r["labels"], r["next_hop"], r["ext_communities"]) for r in stored if r["peer"]],
                             [(OURS, [17], OURS, ["rt:64512:2"])])
        # a target goes, and another comes: the peer is asked for its routes
        self.peer.commit({"vrfs": [dict(green, import_targets=["64512:1"])]})
        self.expect("the other target", self.peer, "green", {1: [("64512:1", OURS, [16])], 3: own})
        def stored():
            return [r["rd"] for r in self.peer.call("rib.routes", {"family": VPN[V4], "view": "loc"})["routes"] if r["peer"]]
        self.wait("the end of the other route", lambda: stored() == ["64512:1"], stored)
        # the other end changes its export
        self.peer.commit({"vrfs": [dict(green, export_targets=["64512:2"], import_targets=[])]})
        self.expect("no target", self.peer, "green", {3: own})
        self.expect("not imported", self.keel, "red", {1: own})
        self.expect("still imported", self.keel, "blue", {1: local["red"], 2: own, 3: remote})
        # a network comes and goes
        self.keel.commit({"bgp": {"networks": networks("red", 1, 4)}})
        self.expect("the new network", self.keel, "blue", {1: local["red"], 3: remote, 4: local["red"]})
        # an instance goes, and its distinguisher has another instance
        self.keel.commit({"vrfs": [vrf("blue", 1, [2], [2])], "bgp": {"networks": networks("blue", 5)}})
        self.peer.commit({"vrfs": [dict(green, import_targets=["64512:1", "64512:2"])]})
        self.expect("another instance", self.peer, "green", {3: own, 5: [("64512:1", OURS, [17])]})
        # the session is lost
        self.keel.commit({"bgp": {"networks": networks("blue", 5), "peers": []}})
        self.expect("no session", self.keel, "blue", {5: own})
        self.expect("no session", self.peer, "green", {3: own})

    def test_a_target_that_another_instance_has(self):
        """The VPN table has the routes of a target that any instance imports: no peer is asked for its routes."""
        red, blue = vrf("red", 1, [], [1]), vrf("blue", 2, [], [2])
        self.both([red, blue, vrf("pink", 3, [], [3])], networks("red", 1) + networks("blue", 2) + networks("pink", 3), [vrf("green", 9, [1]), vrf("gray", 8, [2])], [])
        of = {1: [("64512:1", OURS, [16])], 2: [("64512:2", OURS, [17])], 3: [("64512:3", OURS, [18])]}

        def sent():
            return [f["refresh"]["requests_sent"] for f in self.peer.peer()["families"].values() if f["negotiated"]]

        def imports(**targets):
            """Commits instances with these targets, and waits until each has the routes."""
            self.peer.commit({"vrfs": [vrf(name, {"green": 9, "gray": 8, "white": 7}[name], t) for name, t in targets.items()]})
            for name, t in targets.items():
                self.expect("the targets %s" % t, self.peer, name, {n: of[n] for n in t})
        self.expect("the first", self.peer, "green", {1: of[1]})
        imports(green=[1], gray=[2], white=[3])  # new: asked for, as at the start
        asked = sent()
        imports(green=[2, 1], gray=[2], white=[3])
        imports(green=[1, 2], gray=[2, 1], white=[3])
        imports(green=[1], gray=[2], white=[3])
        imports(green=[2], gray=[1], white=[3])  # in one commit
        imports(green=[3], gray=[1, 2])
        imports(green=[3], gray=[1], white=[2])  # a new instance
        self.assertEqual(sent(), asked)
        imports(green=[3], gray=[1])
        self.wait("the end of the routes of 2", lambda: not [r for r in self.peer.call("rib.routes", {"family": VPN[V4], "view": "loc"})["routes"]
                                                            if r["rd"] == "64512:2"], lambda: None)
        imports(green=[3, 2], gray=[1])  # new again
        self.wait("a request", lambda: all(n > m for n, m in zip(sent(), asked)), sent)

    def test_target_moves(self):
        """Export and import change to another target in one commit: the importing instance keeps all routes throughout."""
        count = 1000
        routes = [{"prefix": "10.%d.%d.0/24" % (i // 250, i % 250), "vrf": "red"} for i in range(count)]
        self.start(document(OURS, THEIRS, [vrf("red", 1, [], [1]), vrf("blue", None, [1])], routes))

        def imported():
            return self.keel.call("vrf.list", {"vrf": "blue"})["vrfs"][0]["imported"]
        self.wait("the routes", lambda: imported() == count, imported)
        lowest, ends = [count], keel_rig.threading.Event()

        def watch():
            while not ends.is_set():
                lowest.append(min(imported(), lowest.pop()))
        watcher = keel_rig.threading.Thread(target=watch)
        watcher.start()
        try:
            for target, turn in ((5, 1), (6, -1), (5, 1), (6, -1)):
                instances = [vrf("red", 1, [], [target]), vrf("blue", None, [target])]
                self.keel.commit({"vrfs": instances[::turn]})
                self.wait("the new target", lambda: {tuple(r["ext_communities"]) for r in self.keel.call(
                    "rib.routes", {"family": V4, "vrf": "blue", "view": "loc", "limit": 10000})["routes"]} == {("rt:64512:%d" % target,)}, imported)
        finally:
            ends.set()
            watcher.join()
        self.assertEqual(lowest, [count])

    def test_limit(self):
        """max_routes is for the instance alone, and refused routes come when there is room."""
        red, blue = vrf("red", 1, [], [1]), vrf("blue", None, [1])
        green = vrf("green", None, [1], max_routes={"limit": 4, "action": "discard"})
        self.both([red], networks("red", 1, 2, 3), [blue, green], [])
        every = {n: [("64512:1", OURS, [16])] for n in (1, 2, 3)}
        self.expect("all", self.peer, "blue", every)
        def count():
            return sum(len(self.routes(self.peer, "green", family)) for family in (V4, V6))
        self.wait("the limit", lambda: count() >= 4, count)
        # each further shard may import one more (docs/limits.md)
        self.assertLess(count(), 4 + int(os.environ.get("RIB_THREADS", 1)))
        def alarms():
            return [a["text"] for a in self.peer.call("system.info")["alarms"] if a["kind"] == "max-routes"]
        self.wait("the alarm", alarms, alarms)
        self.assertRegex(alarms()[0], r"^instance green has \d routes with max_routes 4, and refuses \d$")
        self.keel.commit({"bgp": {"networks": networks("red", 3)}})
        self.expect("room", self.peer, "green", {3: every[3]})
        self.expect("the same", self.peer, "blue", {3: every[3]})
        self.wait("the end of the alarm", lambda: not alarms(), alarms)

    # ---- instances at random ----

    def churn(self, side, keel, end):
        """Adds, changes and removes instances with their networks until `end`. Returns {name: (rd, imports, exports, numbers)} of the last commit."""
        rng, model, commits = random.Random(2 * SEED + side), {}, 0
        while commits < 5 or keel_rig.time.monotonic() < end:
            for _ in range(rng.randint(1, 3)):
                i = 4 * side + rng.randrange(4)
                name, first = "n%d" % i, EACH * i
                if name in model and rng.randrange(3) == 0:
                    del model[name]
                else:
                    model[name] = (1 + i, *(rng.sample((1, 2, 3, 4), rng.randrange(4)) for _ in range(2)),
                                   rng.sample(range(first, first + EACH), rng.randrange(EACH)))
            self.set(keel, model)
            commits += 1
        return model

    @staticmethod
    def set(keel, model):
        keel.commit({"vrfs": [vrf(name, *more[:3]) for name, more in model.items()],
                     "bgp": {"networks": [n for name, more in model.items() for n in networks(name, *more[3])]}})

    def shown(self, keel):
        """All routes of all instances, and the tables."""
        tables = {t["vrf"] for t in keel.call("rib.summary")["tables"]}
        names = {v["name"] for v in keel.call("vrf.list")["vrfs"]} - {"default"}
        return {(name, family): self.routes(keel, name, family) for name in names for family in (V4, V6)}, tables

    def wanted(self, side, models, labels):
        found = {}
        for name, (_, imports, _, own) in models[side].items():
            routes = {n: [(None, None, None)] for n in own}
            for other, address in ((side, None), (1 - side, (THEIRS, OURS)[side])):
                for exporter, (rd, _, exports, numbers) in models[other].items():
                    if exporter != name and set(imports) & set(exports):
                        routes.update({n: [("64512:%d" % rd, address, address and [labels[other][exporter]])] for n in numbers})
            found.update({(name, family): routes for family in (V4, V6)})
        return found, {"default"} | set(models[side])

    def test_random(self):
        """Instances of both daemons come, change and go at the same time; in the end each has exactly the routes of its targets, and nothing is left."""
        self.both([], [], [], [])
        sides, end = (self.keel, self.peer), keel_rig.time.monotonic() + RANDOM_S
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            models = [run.result() for run in [threads.submit(self.churn, i, keel, end) for i, keel in enumerate(sides)]]
        labels = [{v["name"]: v.get("label") for v in keel.call("vrf.list")["vrfs"]} for keel in sides]
        for side, keel in enumerate(sides):
            wanted = self.wanted(side, models, labels)
            self.wait("the routes of side %d" % side, lambda: self.shown(keel) == wanted, lambda: (self.shown(keel), wanted))
        for keel in sides:
            self.set(keel, {})
        for keel in sides:
            self.wait("the end of all", lambda: self.shown(keel) == ({}, {"default"}), lambda: self.shown(keel))
            for family in (V4, V6):
                self.wait("no VPN route", lambda: not keel.call("rib.routes", {"family": VPN[family], "view": "loc"})["routes"], lambda: family)

keel_rig.main()
