#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sessions of VPN instances against a real keeld: each instance with peers has a network namespace keel-NAME; peers with equal addresses in two
instances; namespaces adopted after a kill, removed with the instance and by a stop; a foreign namespace. Needs root; else the exit status is 77.

usage: test_instance_sessions.py KEELD KEELCTL
"""
import json
import os
import socket
import struct
import subprocess
import sys

KEELCTL = sys.argv.pop(2)

import keel_rig  # noqa: E402
from keel_rig import THEM, UPDATE, US, V4, V6, InstanceTest, Speaker, attributes, ip  # noqa: E402

RED, BLUE = ("%s%d" % (c, os.getpid()) for c in "rb")
FAMILIES = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}, V6: {"import_policy": "accept-all", "export_policy": "accept-all"}}


def namespaces():
    return {line.split()[0] for line in ip("netns", "list").splitlines()}


def links(namespace):
    return {link["ifname"] for link in json.loads(ip("-n", namespace, "-j", "link", "show"))} - {"lo"}


def document(*names):
    return {"router": {"asn": 64512, "router_id": US}, "vrfs": [{"name": name} for name in names],
            "bgp": {"networks": [{"prefix": "10.%d.0.0/16" % len(names[:i + 1]), "vrf": name} for i, name in enumerate(names)],
                    "peers": [{"address": THEM, "asn": 64513, "vrf": name, "families": FAMILIES, "timers": {"connect_retry_s": 1}} for name in names]}}


class InstanceSessions(InstanceTest):
    names = (RED, BLUE)

    def routes(self, vrf, family=V4):
        return {r["prefix"]: r["valid"] for r in self.keel.call("rib.routes", {"family": family, "vrf": vrf, "view": "loc"})["routes"]}

    def state(self, vrf):
        return {p["vrf"]: p["state"] for p in self.keel.call("bgp.peers")["peers"]}[vrf]

    def speak_in(self, name):
        s = Speaker("ce-" + name)
        self.addCleanup(s.close)
        self.assertTrue(s.established(), self.keel.logged())
        self.wait("the session", lambda: self.state(name) == "established")
        return s

    def test_tcp_mss(self):
        """The bound of a peer holds in its instance, and at the listener there; a peer of equal address in another instance has none."""
        def bounded(mss):
            d = document(RED, BLUE)
            d["bgp"]["peers"][0]["tcp_mss"] = mss
            return d

        def segments(name, speaker):
            p = next(p for p in self.keel.call("bgp.peers")["peers"] if p["vrf"] == name)
            return p.get("tcp_mss"), p["segment_bytes"], speaker.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

        self.start(bounded(600))
        for name in (RED, BLUE):
            self.join(name)
        red, blue = self.speak_in(RED), self.speak_in(BLUE)
        for mss in (600, 500):
            bound, ours, theirs = segments(RED, red)
            self.assertEqual(bound, mss)
            self.assertTrue(mss - 40 <= ours <= mss and mss - 40 <= theirs <= mss, (mss, ours, theirs))
            bound, ours, theirs = segments(BLUE, blue)
            self.assertTrue(bound is None and ours > 1400 and theirs > 1400, (bound, ours, theirs))
            if mss == 600:
                self.keel.commit({"bgp": {"peers": bounded(500)["bgp"]["peers"]}})
                self.wait("the end of the session", red.closed)
                red = self.speak_in(RED)
        self.assertFalse(blue.closed())

    def test_two_instances(self):
        self.start(document(RED, BLUE))
        self.assertLessEqual({"keel-" + RED, "keel-" + BLUE}, namespaces())
        for name in (RED, BLUE):
            self.join(name)
        red, blue = self.speak_in(RED), self.speak_in(BLUE)
        red.announce("20.0.0.0")
        blue.announce("21.0.0.0")
        self.wait("the routes of the peers", lambda: self.routes(RED).get("20.0.0.0/24") and self.routes(BLUE).get("21.0.0.0/24"))
        self.assertEqual(set(self.routes(RED)), {"10.1.0.0/16", "20.0.0.0/24"})
        self.assertEqual(set(self.routes(BLUE)), {"10.2.0.0/16", "21.0.0.0/24"})
        self.assertEqual(self.routes("default"), {})
        self.wait("what is advertised", lambda: red.table() == {"10.1.0.0/16"} and blue.table() == {"10.2.0.0/16"})
        self.check_shown()
        # by (vrf, address)
        answer = self.keel.call("bgp.refresh", {"family": V4, "vrf": RED, "scope": "peer", "peer": THEM, "direction": "import"})
        self.assertEqual([(p["vrf"], p["action"]) for p in answer["peers"]], [(RED, "route-refresh-sent")])
        self.wait("the request", lambda: len(red.requests(0)) == 1)
        self.assertEqual(blue.requests(0), [])
        # one instance goes; the other one's session stays
        self.keel.commit({"vrfs": document(BLUE)["vrfs"], "bgp": {"networks": [{"prefix": "10.2.0.0/16", "vrf": BLUE}],
                                                                 "peers": document(BLUE)["bgp"]["peers"]}})
        self.wait("the end of the namespace", lambda: "keel-" + RED not in namespaces())
        self.wait("the end of the session", red.closed)
        self.assertIn("e" + RED, links(self.namespace))
        self.assertEqual((self.state(BLUE), blue.closed()), ("established", False))
        # the last peer of an instance goes: the namespace, too
        self.keel.commit({"bgp": {"peers": []}})
        self.wait("the end of the namespace", lambda: "keel-" + BLUE not in namespaces())
        self.wait("the end of the routes", lambda: set(self.routes(BLUE)) == {"10.2.0.0/16"})

    def test_rule_12_a_refresh_stays_in_its_instance(self):
        """keel-policy(7) rule 12: refreshes in one instance send nothing in the other one, except for a leaked route that changed. as_override: the peers of
        both instances have one AS number."""
        doc = document(RED, BLUE)
        doc["vrfs"] = [{"name": RED, "rd": "64512:1", "export_targets": ["64512:1"], "export_policy": "leaks"}, {"name": BLUE, "import_targets": ["64512:1"]}]
        doc["prefix_lists"] = [{"name": "leaked", "entries": [{"action": "permit", "prefix": "20.0.0.0/24"}]}]

        def policies(med):
            return [{"name": "leaks", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "leaked"}}]},
                    {"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": med}}]}]
        doc["route_policies"] = policies(100)
        for peer in doc["bgp"]["peers"]:
            peer["families"] = {V4: {"import_policy": "in" if peer["vrf"] == RED else "accept-all", "export_policy": "accept-all", "as_override": True}}
        self.start(doc)
        for name in (RED, BLUE):
            self.join(name)
        red, blue = self.speak_in(RED), self.speak_in(BLUE)
        red.announce("20.0.0.0", "20.0.1.0")
        blue.announce("21.0.0.0")
        self.wait("the leaked route", lambda: blue.table() == {"10.2.0.0/16", "20.0.0.0/24"}, blue.changed)
        paths = [dict(attributes(b[4:]))[2] for _, kind, b in blue.messages if kind == UPDATE and b[-4:] == bytes([24, 20, 0, 0])]
        self.assertEqual(paths, [bytes([2, 2]) + struct.pack(">II", 64512, 64512)])  # not the AS of the peer
        self.wait("the routes of both", lambda: len(self.routes(BLUE)) == 3 and len(self.routes(RED)) == 3)
        since = keel_rig.time.monotonic()
        for direction in ("import", "export") * 5:
            answer = self.keel.call("bgp.refresh", {"family": V4, "vrf": RED, "scope": "all", "direction": direction})
            self.assertEqual([p["vrf"] for p in answer["peers"]], [RED])
            self.wait("the end of the job", lambda: self.keel.job(answer["job"]) == "done")
        self.wait("the requests", lambda: len(red.requests(since)) >= 5)
        # a change in red that the export policy of the instance passes on: the leaked route alone
        self.wait_jobs(self.keel.commit({"route_policies": policies(120)}))
        red.withdraw("20.0.1.0")
        blue.announce("21.0.1.0")
        red.withdraw("20.0.0.0")
        self.wait("the withdrawal", lambda: blue.told(since)[1] == {"20.0.0.0/24"}, blue.changed)
        kinds = [(kind, b) for t, kind, b in blue.messages if t >= since and kind != UPDATE]
        self.assertEqual((kinds, blue.told(since)[0] - {"20.0.0.0/24"}), ([], set()))

    def ctl(self, *words):
        p = subprocess.run([KEELCTL, "--socket", self.keel.path, *words], capture_output=True, text=True)
        return p.returncode, p.stdout, p.stderr

    def shown(self, line):
        status, out, err = self.ctl("--json", *line.split())
        self.assertEqual((status, err), (0, ""), line)
        return json.loads(out)

    def check_shown(self):
        """The commands `show` and `display` for each instance, and for the default VRF."""
        for vrf, own, learned in ((RED, "10.1.0.0/16", "20.0.0.0/24"), (BLUE, "10.2.0.0/16", "21.0.0.0/24")):
            for show in ("show", "display"):
                for family in ("", " ipv4-family"):
                    routes = "%s route vpn-instance %s%s" % (show, vrf, family)
                    self.assertEqual({r["prefix"] for r in self.shown(routes)["routes"]}, {own, learned})
                    self.assertEqual([r["prefix"] for r in self.shown(routes + " peer " + THEM)["routes"]], [learned])
                    self.assertEqual([r["prefix"] for r in self.shown("%s peer %s advertised" % (routes, THEM))["routes"]], [own])
                    self.assertEqual([r["peer"] for r in self.shown(routes + " " + learned)["routes"]], [THEM])
                    self.assertEqual(self.shown(routes + " " + learned.replace("0/24", "7"))["prefix"], learned)
                    for words in (" summary", " peer " + THEM):
                        peers = self.shown("%s bgp vpn-instance %s%s%s" % (show, vrf, family, words))["peers"]
                        self.assertEqual([(p["vrf"], p["address"], set(p["families"])) for p in peers], [(vrf, THEM, {V4} if family else {V4, V6})])
                self.assertEqual(self.shown("%s route vpn-instance %s ipv6-family" % (show, vrf))["routes"], [])
                self.assertEqual(self.shown("%s bgp vpn-instance %s peer %s faults" % (show, vrf, THEM))["faults"], [])
            status, out, _ = self.ctl("show", "bgp", "vpn-instance", vrf, "peer", THEM)
            self.assertEqual((status, "VRF " + vrf in out), (0, True))
        self.assertEqual(self.shown("show route")["routes"], [])
        self.assertEqual(len(self.shown("show bgp summary")["peers"]), 2)
        for line in ("show bgp peer " + THEM, "show bgp vpn-instance nowhere summary", "show route vpn-instance nowhere",
                     "show bgp vpn-instance %s peer 192.0.2.9" % RED):
            status, out, err = self.ctl(*line.split())
            self.assertEqual((status, out, "there is no" in err), (1, "", True), (line, err))

    def test_sockets_of_both_families(self):
        """keeld connects: a listener in the CE gets a connection from the namespace, by IPv4 and IPv6."""
        doc = document(RED)
        doc["bgp"]["peers"].append(dict(doc["bgp"]["peers"][0], address="2001:db8::2"))
        listeners = keel_rig.in_namespace("ce-" + RED, lambda: [self.listener(family, address) for family, address in
                                                              ((keel_rig.socket.AF_INET, "0.0.0.0"), (keel_rig.socket.AF_INET6, "::"))])
        self.start(doc)
        self.join(RED)
        found = []
        for listener in listeners:
            listener.settimeout(keel_rig.WAIT_S)
            connection, who = listener.accept()
            found.append(who[0])
            connection.close()
            listener.close()
        self.assertEqual(found, [US, "2001:db8::1"])

    @staticmethod
    def listener(family, address):
        s = keel_rig.socket.socket(family)
        s.setsockopt(keel_rig.socket.SOL_SOCKET, keel_rig.socket.SO_REUSEADDR, 1)
        if family == keel_rig.socket.AF_INET6:
            s.setsockopt(keel_rig.socket.IPPROTO_IPV6, keel_rig.socket.IPV6_V6ONLY, 1)
        s.bind((address, 179))
        s.listen()
        return s

    def test_kill_and_stop(self):
        self.start(document(RED))
        self.join(RED)
        self.speak_in(RED)
        inode = os.stat("/run/netns/keel-" + RED).st_ino
        self.keel.kill()
        self.assertIn("keel-" + RED, namespaces())
        self.keel.start()
        self.assertEqual((os.stat("/run/netns/keel-" + RED).st_ino, links("keel-" + RED)), (inode, {"e" + RED}))
        self.speak_in(RED)
        self.keel.stop()
        self.assertNotIn("keel-" + RED, namespaces())
        self.assertIn("e" + RED, links(self.namespace))
        self.keel.start()

    def test_foreign(self):
        ip("netns", "add", "keel-" + RED)
        self.start(document(RED, BLUE))
        alarms = self.keel.call("system.info")["alarms"]
        self.assertEqual([a["kind"] for a in alarms], ["namespace"])
        self.assertIn("keel-%s was not created by this keeld" % RED, alarms[0]["text"])
        self.join(BLUE)
        self.speak_in(BLUE).announce("21.0.0.0")
        self.wait("the route", lambda: "21.0.0.0/24" in self.routes(BLUE))
        self.assertEqual(self.state(RED) in ("established", "open-sent"), False)
        self.assertEqual(set(self.routes(RED)), {"10.1.0.0/16"})
        self.keel.stop()
        self.assertIn("keel-" + RED, namespaces())
        self.keel.start()


if __name__ == "__main__":
    keel_rig.main()
