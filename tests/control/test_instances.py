#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""VPN instances against a real keeld: added, changed and removed by commits, with labels that stay; routes of networks and static routes; names in
requests, in keelctl and in its shell. Needs root (a network namespace); else the exit status is 77.

usage: test_instances.py KEELD KEELCTL
"""
import json
import os
import signal
import subprocess
import sys

import keel_rig
from keel_rig import US, V4, V6, KeelTest

KEELCTL = sys.argv.pop(2)
RED = {"name": "red", "rd": "64512:1", "import_targets": ["64512:1"], "export_targets": ["64512:1", "64512:3"]}
BLUE = {"name": "blue", "rd": "192.0.2.1:2"}
NET = "10.0.0.0/24"


def document(*vrfs, networks=(), **more):
    return dict({"router": {"asn": 64512, "router_id": US}, "vrfs": list(vrfs), "bgp": {"networks": list(networks)}}, **more)


def networks(*where):
    """`NET` in each of the instances."""
    return [{"prefix": NET, "vrf": name} for name in where]


class Instances(KeelTest):
    def vrfs(self, **params):
        return {v["name"]: v for v in self.keel.call("vrf.list", params)["vrfs"]}

    def labels(self):
        return {name: v["label"] for name, v in self.vrfs().items() if name != "default"}

    def routes(self, vrf, family=V4):
        answer = self.keel.answer("rib.routes", {"family": family, "vrf": vrf, "view": "loc"})
        if "error" in answer:
            self.assertEqual((answer["error"]["code"], answer["error"]["data"]["path"]), (-32004, "/vrf"), answer)
            self.assertIn('"%s"' % vrf, answer["error"]["data"]["reason"])
            return None
        return {r["prefix"] for r in answer["result"]["routes"]}

    def tables(self):
        return {t["vrf"] for t in self.keel.call("rib.summary")["tables"]}

    def commit(self, document):
        return [(e["vrf"], e["effect"]) for e in self.keel.commit({key: document.get(key) for key in ("vrfs", "bgp", "static_routes")})]

    def ctl(self, *words, status=0, stdin=None):
        p = subprocess.run([KEELCTL, "--socket", self.keel.path] + list(words), capture_output=True, text=True, timeout=keel_rig.WAIT_S, input=stdin)
        self.assertEqual(p.returncode, status, (words, p.stdout, p.stderr))
        return p.stdout if status == 0 else p.stderr

    def test_life(self):
        self.start(document(networks=networks("default")))
        self.assertEqual(set(self.vrfs()), {"default"})
        self.assertIsNone(self.routes("red"))
        wanted = document(RED, BLUE, networks=networks("default", "red", "blue") + [{"prefix": "2001:db8:1::/48", "vrf": "blue"}])
        self.keel.call("config.edit", {"merge": {key: wanted[key] for key in ("vrfs", "bgp")}})
        preview = self.keel.call("bgp.refresh.preview", {"candidate": True})
        self.assertEqual([(e["vrf"], e["effect"]) for e in preview["effects"]], [("red", "instance-added"), ("blue", "instance-added")])
        self.assertIsNone(self.routes("red"))
        self.assertEqual(self.commit(wanted), [("red", "instance-added"), ("blue", "instance-added")])
        self.assertEqual([self.routes(v) for v in ("default", "red", "blue")], [{NET}] * 3)
        self.assertEqual((self.routes("red", V6), self.routes("blue", V6)), (set(), {"2001:db8:1::/48"}))
        self.assertEqual(self.vrfs()["red"], {"name": "red", "peers": 0, "prefixes": {V4: 1, V6: 0}, "rd": "64512:1", "label": 16, "imported": 0, "exported": 1,
                                              "refused": 0,
                                              "import_targets": ["64512:1"], "export_targets": ["64512:1", "64512:3"]})
        self.assertEqual(list(self.vrfs(vrf="blue")), ["blue"])
        # a change of one instance; the order of the entries is none
        changed = dict(RED, import_targets=["64512:9"])
        self.assertEqual(self.commit(dict(wanted, vrfs=[BLUE, changed])), [("red", "instance-changed")])
        self.assertEqual(self.commit(dict(wanted, vrfs=[BLUE, dict(changed, description="x")])), [])
        self.assertEqual(self.labels(), {"red": 16, "blue": 17})
        last = self.keel.call("config.history")["commits"][-1]["id"]
        # removed: the routes of the others stay
        self.assertEqual(self.commit(document(BLUE, networks=networks("default", "blue"))), [("red", "instance-removed")])
        self.assertIsNone(self.routes("red"))
        self.assertEqual([self.routes(v) for v in ("default", "blue")], [{NET}] * 2)
        effects = self.keel.call("config.rollback", {"to": last})["effects"]
        self.assertEqual([(e["vrf"], e["effect"]) for e in effects], [("red", "instance-added")])
        self.assertEqual((self.routes("red"), self.labels()), ({NET}, {"red": 16, "blue": 17}))

    def test_faults(self):
        self.start(document(RED))
        for vrfs, path in (([RED, dict(BLUE, rd="64512:1")], "/vrfs/1/rd"), ([dict(RED, import_policy="none")], "/vrfs/0/import_policy")):
            answer = self.keel.answer("config.edit", {"merge": {"vrfs": vrfs}})
            answer = self.keel.answer("config.commit") if "result" in answer else answer
            self.assertEqual(answer["error"]["data"]["path"], path, answer)
            self.keel.call("config.discard")
        self.assertEqual(set(self.vrfs()), {"default", "red"})
        self.assertEqual(self.keel.answer("vrf.list", {"vrf": "none"})["error"]["code"], -32004)

    def test_statics(self):
        """A static route of an instance is redistributed there, and nowhere else."""
        more = {"static_routes": [{"prefix": "10.9.0.0/16", "blackhole": True, "vrf": "red"}]}
        doc = document(RED, BLUE, **more)
        doc["bgp"]["redistribute"] = [{"source": "static", "vrf": "red"}, {"source": "static", "vrf": "blue"}]
        self.start(doc)
        self.wait("the route", lambda: self.routes("red") == {"10.9.0.0/16"})
        self.assertEqual((self.routes("blue"), self.routes("default")), (set(), set()))

    def test_labels_stay(self):
        self.start(document(RED, BLUE))
        self.assertEqual(self.labels(), {"red": 16, "blue": 17})
        self.commit(document(BLUE))
        self.commit(document(BLUE, dict(RED, name="green", rd="64512:7")))
        before = self.labels()
        self.assertEqual(before["blue"], 17)
        self.assertNotIn(before["green"], (16, 17))
        self.keel.kill()
        self.keel.start()
        self.assertEqual(self.labels(), before)
        self.keel.stop()
        with open(os.path.join(self.keel.state, "labels.json"), "w") as f:
            f.write("{")
        self.keel.start()
        self.assertTrue(all(label >= 32768 for label in self.labels().values()), self.labels())
        alarms = self.keel.call("system.info")["alarms"]
        self.assertEqual([a["kind"] for a in alarms], ["labels"])
        self.assertIn("labels.broken-1", alarms[0]["text"])

    def test_often(self):
        """Ids and tables are used again: many more instances in turn than there is room for at once."""
        self.start(document(BLUE, networks=networks("blue")))
        for i in range(40):
            self.commit(document(BLUE, {"name": "n%d" % i}, networks=networks("blue", "n%d" % i)))
            self.keel.call("rib.summary")  # main reads the tables while shards free those of the last instance
        self.assertEqual(self.routes("n39"), {NET})
        self.commit(document(BLUE, networks=networks("blue")))
        self.wait("the end of the tables", lambda: "n39" not in self.tables())
        self.assertEqual(self.routes("blue"), {NET})
        self.assertEqual(self.tables(), {"default", "blue"})

    def test_returns(self):
        """An instance that a commit adds again while it ends, with routes; the ids of its tables are the same in all shards."""
        many = [{"prefix": "10.%d.0.0/16" % i, "vrf": "red"} for i in range(200)]
        self.start(document(BLUE))
        for _ in range(10):
            self.commit(document(RED, BLUE, networks=many))
            self.assertEqual(len(self.routes("red")), 200)
            self.commit(document(BLUE))
            self.assertIsNone(self.routes("red"))
        self.wait("the end of the tables", lambda: "red" not in self.tables())

    def test_a_thousand(self):
        """The promised number of instances, in one commit; one goes, and all."""
        vrfs = [{"name": "n%d" % i, "rd": "1:%d" % i, "import_targets": ["1:%d" % i], "export_targets": ["1:%d" % i]} for i in range(1000)]
        self.start(document())
        self.commit(document(*vrfs))
        self.assertEqual(sorted(self.labels().values()), list(range(16, 1016)))
        self.assertEqual(self.commit(document(*vrfs[:-1])), [("n999", "instance-removed")])
        self.commit(document())
        self.wait("the end of the tables", lambda: self.tables() == {"default"})

    def test_reload(self):
        self.start(document(RED))
        wanted = dict(self.keel.on_disk(), **document(RED, BLUE, networks=networks("blue")))
        with open(self.keel.file, "w") as f:
            json.dump(wanted, f)
        pid = self.keel.call("system.info")["pid"]
        os.kill(pid, signal.SIGHUP)
        self.wait("the instance", lambda: self.routes("blue") == {NET})

    def test_keelctl(self):
        self.start(document(RED, networks=networks("red")))
        table = self.ctl("show", "vrf")
        self.assertRegex(table, r"red +64512:1 +16 +0 +1 +0 +64512:1 +64512:1 64512:3")
        self.assertEqual(self.ctl("display", "vpn-instance", "red").count("red"), 1)
        self.assertIn('"none"', self.ctl("show", "vrf", "none", status=1))
        for line in ("refresh bgp vpn-instance none ipv4-family all import", "reset bgp vpn-instance none ipv6-family all"):
            self.assertIn('there is no VRF "none"', self.ctl(*line.split(), status=1))
        # an instance that only the candidate has
        self.keel.call("config.edit", {"merge": {"vrfs": [RED, BLUE]}})
        self.ctl("system-view; bgp 64512; ipv4-family vpn-instance blue; peer 192.0.2.9 as-number 64513; ipv6-family vpn-instance red;"
                 "peer 2001:db8::9 as-number 64514")
        self.assertIn('there is no VPN instance "none"', self.ctl("system-view; bgp 64512; ipv4-family vpn-instance none; quit", status=1))
        peers = self.keel.call("config.get", {"source": "candidate"})["document"]["bgp"]["peers"]
        self.assertEqual(peers, [{"address": "192.0.2.9", "asn": 64513, "vrf": "blue", "families": {V4: {}}},
                                 {"address": "2001:db8::9", "asn": 64514, "vrf": "red", "families": {V6: {}}}])
        self.ctl("commit")
        self.assertEqual({(p["address"], p["vrf"]) for p in self.keel.call("bgp.peers")["peers"]}, {("192.0.2.9", "blue"), ("2001:db8::9", "red")})
        self.assertEqual([p["address"] for p in self.keel.call("bgp.peers", {"vrf": "blue"})["peers"]], ["192.0.2.9"])
        answer = self.keel.call("bgp.refresh", {"family": V6, "vrf": "red", "scope": "all", "direction": "import"})
        self.assertEqual([(p["address"], p["vrf"], p["action"]) for p in answer["peers"]], [("2001:db8::9", "red", "not-established")])


keel_rig.main()
