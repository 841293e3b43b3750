#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""rib.history and `show route PREFIX history`: what peers do to a prefix, told step by step (needs root: else the exit status is 77).

usage: test_route_history.py KEELD KEELCTL
"""
import os
import re
import struct
import subprocess
import sys
import time

KEELCTL = sys.argv.pop(2)

from keel_rig import KeelTest, RD, UPDATE, V4, VPNV4, VRF, main, nlri, update_of, withdrawal_of  # noqa: E402

AS = 64512
A, B, KEPT = "192.0.2.2", "192.0.2.3", "192.0.2.50"
ASN = {A: 64513, B: 64514, KEPT: 64515}
PREFIX, NETWORK, DENIED = "20.0.0.0/24", "20.0.0.0", "20.9.9.0"


def peer(address, policy, keep=False, families=(V4,)):
    return {"address": address, "asn": ASN[address], "passive": True,
            "families": {f: {"import_policy": policy, "export_policy": "accept-all", "keep_all_routes": keep} for f in families}}


def denying(name, entry):
    return {"name": name, "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": entry}}, {"seq": 20, "action": "permit"}]}


DOCUMENT = {
    "router": {"asn": AS, "router_id": "192.0.2.1"},
    "prefix_lists": [{"name": "denied", "entries": [{"action": "permit", "prefix": "20.9.9.0/24"}]},
                     {"name": "first", "entries": [{"action": "permit", "prefix": PREFIX}]}],
    "route_policies": [denying("in", "denied"), denying("later", "first")],
    "bgp": {"next_hop_tracking": False, "peers": [peer(A, "in"), peer(B, "accept-all"), peer(KEPT, "in", True)]}}


class RouteHistory(KeelTest):
    def begin(self, *addresses, document=None):
        self.start(document or DOCUMENT)
        self.began = time.time()
        self.peers = {a: self.live(a) for a in addresses}

    def live(self, address):
        """A speaker whose initial table is at its end: later UPDATEs are single changes."""
        s = self.speak(address=address, asn=ASN[address], families=(V4,), restart=1)
        s.send(UPDATE, bytes(4))  # End-of-RIB
        return s

    def history(self, prefix=PREFIX, **more):
        return self.keel.call("rib.history", dict({"family": V4, "prefix": prefix}, **more))["changes"]

    def words(self, changes):
        """[(peer, event, best now, best before, reason)], the oldest first."""
        return [(c["peer"], c["event"]) + ((c["best"].get("peer"), c["best"].get("was"), c["best"].get("reason")) if "best" in c else ())
                for c in reversed(changes)]

    def after(self, count, prefix=PREFIX, **more):
        """The changes once there are `count`, each with a record. keeld stores a path before the record."""
        found = []

        def there():
            found[:] = self.history(prefix, **more)
            return len(found) >= count and not any("recorded" in c for c in found)
        self.wait("change %d of %s in %s" % (count, prefix, self.words(found)), there)
        self.assertEqual(len(found), count, self.words(found))
        return found

    def test_a_story(self):
        self.begin(A, B)
        a, b = self.peers[A], self.peers[B]
        want = []

        def told(*words):
            want.extend(words)
            changes = self.after(len(want))
            self.assertEqual(self.words(changes), want)
            times = [c["time"] for c in changes]
            self.assertEqual(times, sorted(times, reverse=True))
            self.assertTrue(self.began - 2 <= times[-1] and times[0] <= time.time() + 1, times)
            return changes
        self.assertEqual(self.history(), [])
        a.announce(NETWORK, asns=(64513, 65001))
        told((A, "announced", A, None, None))
        b.announce(NETWORK, asns=(64514, 65001, 65002))
        told((B, "announced"))
        b.announce(NETWORK, asns=(64514,))
        changes = told((B, "replaced", B, A, "as-path-length"))
        self.assertEqual(changes[0]["route"]["as_path"], "64514")
        self.assertNotIn("recorded", changes[0])
        a.announce(NETWORK, asns=(64513,))
        told((A, "replaced", A, B, "router-id"))
        a.withdraw(NETWORK)
        told((A, "withdrawn", B, A, None))
        b.close()
        self.wait("no path", lambda: not self.routes())
        self.wait("its record", lambda: self.words(self.history())[-1][2:] == (None, B, None))  # keeld removes a path before the record
        changes = self.history()
        # the session without restart of the family is lost at once, or its paths stay stale until a timer
        self.assertIn(self.words(changes)[-1][:2], ((B, "session-lost"), (B, "stale")))
        out = self.ctl(PREFIX, "history")
        self.assertRegex(out, r"\A20\.0\.0\.0/24, last changes\n")
        self.assertRegex(out, r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  192\.0\.2\.2: withdrawn\n(     AS path .*\n)?     best path 192\.0\.2\.3, was 192\.0\.2\.2\n")
        self.assertRegex(out, r"192\.0\.2\.3: announced with other attributes\n(     AS path .*\n)?     best path 192\.0\.2\.3, was 192\.0\.2\.2: as-path-length\n")
        self.assertRegex(out, r"     best path none, was 192\.0\.2\.3\n")
        self.assertEqual(self.ctl("20.0.1.0/24", "history"), "20.0.1.0/24, no known change\n")

    def routes(self, prefix=PREFIX):
        return self.keel.call("rib.routes", {"family": V4, "view": "loc", "prefix": prefix})["routes"]

    def ctl(self, *words):
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route"] + list(words), capture_output=True, text=True, timeout=300)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        return out.stdout

    def test_refused_by_which_policy(self):
        self.begin(A)
        self.peers[A].announce(DENIED)
        changes = self.after(1, "20.9.9.0/24")
        self.assertEqual([(c["event"], c["cause"], c["policy"], c["node"]) for c in changes], [("refused", "policy", "in", 10)])
        self.assertIn(": refused: policy: policy in, node 10\n", self.ctl("20.9.9.0/24", "history"))
        # the name is that of the time of the refusal
        self.wait_jobs(self.keel.commit({"bgp": {"peers": [peer(A, "later"), peer(B, "accept-all"), peer(KEPT, "in", True)]}}))
        self.peers[A].announce(NETWORK)  # not part of the answer to the ROUTE-REFRESH
        self.assertEqual([(c["event"], c["policy"], c["node"]) for c in self.after(1)], [("refused", "later", 10)])
        self.assertEqual(self.history("20.9.9.0/24")[-1]["policy"], "in")
        self.peers[A].announce(NETWORK, asns=(64513, AS))
        self.assertEqual([(c["event"], c.get("cause")) for c in self.after(2)], [("refused", "as-loop"), ("refused", "policy")])

    def test_an_accepted_path_is_refused(self):
        self.begin(A)
        self.peers[A].announce(NETWORK)
        self.wait("a usable path", lambda: any(r["best"] for r in self.routes()))
        before = len(self.history())
        self.peers[A].announce(NETWORK, asns=(64513, AS))
        changes = self.after(before + 1)
        self.assertEqual(self.words(changes)[-1], (A, "refused", None, A, None))
        self.assertEqual(changes[0]["cause"], "as-loop")

    def test_kept_routes_are_evaluated_again(self):
        self.begin(KEPT)
        self.peers[KEPT].announce(NETWORK)
        self.wait("a usable path", lambda: any(r["best"] for r in self.routes()))
        before = len(self.after(1))
        self.keel.commit({"bgp": {"peers": [peer(A, "in"), peer(B, "accept-all"), peer(KEPT, "later", True)]}})
        changes = self.after(before + 1)
        self.assertEqual((changes[0]["event"], changes[0]["cause"], changes[0]["policy"]), ("refused", "policy", "later"))
        self.assertEqual(changes[0]["best"], {"was": KEPT})
        # The evaluation sets the path's time: the record of the announcement is now of an earlier second.
        self.wait("the next second", lambda: time.time() > changes[0]["time"] + 1)
        self.keel.commit({"bgp": {"peers": [peer(A, "in"), peer(B, "accept-all"), peer(KEPT, "in", True)]}})
        changes = self.after(before + 2)
        self.assertEqual((changes[0]["event"], changes[0]["policy"], changes[0]["best"]), ("reevaluated", "in", {"peer": KEPT}))

    def test_whole_tables_have_the_times_of_their_paths(self):
        """Announcements of an initial table have no record; what ends them has, and tells since when they were there."""
        self.start(DOCUMENT)
        b = self.speak(address=B, asn=ASN[B], families=(V4,), restart=1)
        networks = ["20.1.%d.0" % i for i in range(256)]
        b.announce(*networks)
        self.wait("256 prefixes", lambda: sum(t["prefixes"] for t in self.keel.call("rib.summary")["tables"]) == 256)
        changes = self.history("20.1.7.0/24")
        self.assertEqual((changes[-1]["peer"], changes[-1]["event"]), (B, "announced"))
        self.assertLess(abs(changes[-1]["time"] - time.time()), 30)
        b.send(UPDATE, bytes(4))
        b.withdraw("20.1.7.0")
        self.wait("a withdrawal", lambda: not self.routes("20.1.7.0/24"))
        self.wait("its record", lambda: [c["event"] for c in self.history("20.1.7.0/24") if c["event"] != "next-hop-up"] == ["withdrawn", "announced"])
        self.assertEqual(self.keel.call("rib.history", {"family": V4, "prefix": "20.1.8.0/24"})["recorded_since"], {"live": None, "bulk": None})

    def test_a_removed_peer_keeps_its_name(self):
        self.begin(A)
        self.peers[A].announce(NETWORK)
        self.wait("a usable path", lambda: any(r["best"] for r in self.routes()))
        before = len(self.history())
        self.keel.commit({"bgp": {"peers": [peer(B, "accept-all")]}})
        changes = self.after(before + 1)
        self.assertEqual(self.words(changes)[-1], (A, "session-lost", None, A, None))
        self.keel.commit({"bgp": {"peers": [peer(B, "accept-all"), peer(KEPT, "in", True)]}})
        self.assertEqual(self.words(self.history())[-1][0], A)

    def test_routes_of_this_router(self):
        self.begin()
        self.keel.commit({"bgp": {"networks": [{"prefix": PREFIX}]}})
        self.assertEqual(self.words(self.after(1)), [(None, "announced", None, None, None)])
        self.keel.commit({"bgp": {"networks": []}})
        self.assertEqual(self.words(self.after(2))[-1], (None, "withdrawn", None, None, None))
        self.assertIn("this router: withdrawn\n", self.ctl(PREFIX, "history"))

    def test_limit_and_faults(self):
        self.begin(A)
        for i in range(8):
            self.peers[A].announce(NETWORK, asns=(64513, 65000 + i))
        self.wait("the last path", lambda: [r["as_path"] for r in self.routes()] == ["64513 65007"])
        self.assertEqual(len(self.history(limit=3)), 3)
        self.wait("its record", lambda: self.history(limit=1)[0].get("route", {}).get("as_path") == "64513 65007")
        for params, path in (({"family": V4}, "/prefix"), ({"family": V4, "prefix": "20.0.0.0/33"}, "/prefix"), ({"family": VPNV4, "prefix": PREFIX}, "/rd"),
                             ({"family": V4, "prefix": PREFIX, "limit": 513}, "/limit")):
            error = self.keel.answer("rib.history", params)["error"]
            self.assertEqual((error["code"], error["data"]["path"]), (-32602, path))

    def test_vpn(self):
        document = {"router": DOCUMENT["router"], "bgp": {"peers": [
            {"address": a, "asn": ASN[a], "passive": True, "families": {VPNV4: {"import_policy": "accept-all", "export_policy": "accept-all",
                                                                              "next_hop_unchanged": True}}} for a in (A, B)]}}
        self.start(document)
        s = self.speak(address=A, asn=ASN[A], families=(VPNV4,), restart=1)
        s.send(UPDATE, withdrawal_of(VPNV4, b""))
        s.send(UPDATE, update_of(VPNV4, A, (64513,), nlri(VPNV4, NETWORK)))
        known = {"family": VPNV4, "rd": "64512:7", "prefix": PREFIX}
        self.wait("the route", lambda: self.keel.call("rib.history", known)["changes"])
        s.send(UPDATE, withdrawal_of(VPNV4, nlri(VPNV4, NETWORK, label=None)))
        self.wait("its withdrawal", lambda: self.keel.call("rib.history", known)["changes"][0]["event"] == "withdrawn")
        self.assertEqual(self.keel.call("rib.history", dict(known, rd="64512:8"))["changes"], [])
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route", "vpnv4", PREFIX, "history", "rd", "64512:7"], capture_output=True,
                             text=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("192.0.2.2: withdrawn\n", out.stdout)
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route", "vpnv4", PREFIX, "history"], capture_output=True, text=True, timeout=300)
        self.assertEqual(out.returncode, 2)


UNREACHABLE = "203.0.113.9"


class Covering(KeelTest):
    """An address, or a prefix whose announcements cannot be used: what anybody announces, with cause, peer and node."""

    def begin(self):
        document = dict(DOCUMENT, bgp=dict(DOCUMENT["bgp"], next_hop_tracking=True))
        self.start(document)
        self.more = {"vrf": VRF} if VRF else {}
        self.peers = {a: self.speak(address=a, asn=ASN[a], families=(V4,)) for a in (A, B, KEPT)}

    def say(self, peer, network, length, hop="192.0.2.99"):  # the peers' addresses are those of this host, too
        self.peers[peer].send(UPDATE, update_of(V4, hop, (ASN[peer],), nlri(V4, network, length)))

    def drop(self, peer, network, length):
        self.peers[peer].send(UPDATE, withdrawal_of(V4, nlri(V4, network, length)))

    def call(self, method, **params):
        return self.keel.call(method, dict(params, family=V4, **self.more))

    def ctl(self, *words):
        words = ["show", "route"] + (["vpn-instance", VRF] if VRF else []) + list(words)
        out = subprocess.run([KEELCTL, "--socket", self.keel.path] + words, capture_output=True, text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout

    def refused(self, answer):
        return sorted((r["peer"], r["cause"], r.get("policy"), r.get("node"), r.get("route", {}).get("as_path")) for r in answer["refused"])

    def exact(self, prefix):
        return self.call("rib.routes", view="loc", prefix=prefix)

    def test_what_anybody_announces(self):
        self.begin()
        self.say(KEPT, DENIED, 24)
        kept, lost = (KEPT, "policy", "in", 10, "64515"), (A, "policy", "in", 10, None)
        self.wait("the kept one", lambda: self.refused(self.exact("20.9.9.0/24")) == [kept])
        line = r"  refused from 192\.0\.2\.50: policy: policy in, node 10, .* ago\n     next hop +192\.0\.2\.99\n     AS path +64515 i\n"
        self.assertRegex(self.ctl("20.9.9.0/24"), "^no route\n" + line)
        found = self.call("rib.lookup", address="20.9.9.7")
        self.assertEqual((found["prefix"], found["routes"], found["announced"]["prefix"], self.refused(found["announced"])), (None, [], "20.9.9.0/24", [kept]))
        self.assertRegex(self.ctl("20.9.9.7"), "^20.9.9.0/24, no usable route\n" + line)
        fate = self.call("rib.fate", prefix="20.9.9.7")
        self.assertEqual(fate["prefix"], "20.9.9.0/24")
        self.assertEqual([(p["peer"], p["reason"], p["import"]["node"]) for p in fate["paths"]], [(KEPT, "rejected-by-policy", 10)])
        self.assertRegex(self.ctl("20.9.9.7", "fate"), r"^20.9.9.0/24, announced by\n     192\.0\.2\.50 at .*rejected-by-policy")
        changes = self.call("rib.history", prefix="20.9.9.7")
        self.assertEqual((changes["prefix"], [(c["peer"], c["event"]) for c in changes["changes"]]), ("20.9.9.0/24", [(KEPT, "refused")]))
        self.assertRegex(self.ctl("20.9.9.7", "history"), r"^20.9.9.0/24, last changes\n")
        # an announcement that is not kept
        self.say(A, DENIED, 24)
        self.wait("both", lambda: self.refused(self.exact("20.9.9.0/24")) == sorted([kept, lost]))
        self.assertEqual(self.refused(self.call("rib.routes", view="adj-in", peer=A, prefix="20.9.9.0/24")), [lost])
        self.assertEqual(self.refused(self.call("rib.routes", view="adj-in", peer=KEPT, prefix="20.9.9.0/24")), [kept])
        pre = self.call("rib.routes", view="adj-in-pre", peer=KEPT, prefix="20.9.9.0/24")
        self.assertEqual((len(pre["routes"]), pre["refused"]), (1, []))
        # a usable shorter one is shown beside, an unusable longer one in its place
        self.say(B, "20.0.0.0", 8)
        self.wait("the usable one", lambda: self.call("rib.lookup", address="20.9.9.7")["prefix"] == "20.0.0.0/8")
        found = self.call("rib.lookup", address="20.9.9.7")
        self.assertEqual((found["announced"]["prefix"], found["refused"]), ("20.9.9.0/24", []))
        self.assertRegex(self.ctl("20.9.9.7"), r"(?s)^20.9.9.0/24, no usable route\n.*refused.*\n20.0.0.0/8, 1 path\n")
        self.assertNotIn("announced", self.call("rib.lookup", address="20.8.0.1"))
        self.say(B, DENIED, 28, UNREACHABLE)
        self.wait("the unusable one", lambda: self.call("rib.lookup", address="20.9.9.7")["announced"]["prefix"] == "20.9.9.0/28")
        announced = self.call("rib.lookup", address="20.9.9.7")["announced"]
        self.assertEqual([(r["peer"], r["valid"], r["reason"]) for r in announced["routes"]], [(B, False, "next-hop-unreachable")])
        self.assertEqual([self.call(m, prefix="20.9.9.7")["prefix"] for m in ("rib.fate", "rib.history")], ["20.9.9.0/28"] * 2)
        self.drop(B, DENIED, 28)
        self.wait("it goes", lambda: self.call("rib.fate", prefix="20.9.9.7")["prefix"] == "20.9.9.0/24")
        # a prefix that nobody announces any more
        self.peers[B].send(UPDATE, bytes(4))  # the initial table ends: single changes have records
        self.say(B, DENIED, 28)
        self.wait("a new one", lambda: self.call("rib.lookup", address="20.9.9.7")["prefix"] == "20.9.9.0/28")
        self.drop(B, DENIED, 28)
        self.wait("it goes", lambda: self.call("rib.fate", prefix="20.9.9.7")["prefix"] == "20.9.9.0/24")
        self.assertEqual(self.call("rib.history", prefix="20.9.9.7")["prefix"], "20.9.9.0/28")
        # nobody
        for method in ("rib.fate", "rib.history"):
            self.assertEqual(self.call(method, prefix="99.0.0.1")["prefix"], None)
        self.assertEqual(self.ctl("99.0.0.1", "fate"), "nobody has announced a prefix that holds 99.0.0.1\n")
        self.assertEqual(self.ctl("99.0.0.1"), "no route\n")
        self.say(B, "0.0.0.0", 0)
        self.wait("a default", lambda: self.call("rib.fate", prefix="99.0.0.1")["prefix"] == "0.0.0.0/0")
        # a refusal ends with its session, a kept one with its cause
        self.peers[A].close()
        self.wait("the end of the session", lambda: self.refused(self.exact("20.9.9.0/24")) == [kept])
        self.keel.call("config.edit", {"patch": [{"op": "replace", "path": "/route_policies/0/nodes/0/action", "value": "permit"}]})
        self.keel.call("config.commit")
        self.wait("a usable one", lambda: self.call("rib.lookup", address="20.9.9.7")["prefix"] == "20.9.9.0/24")
        self.assertEqual(self.refused(self.exact("20.9.9.0/24")), [])
        self.assertNotIn("announced", self.call("rib.lookup", address="20.9.9.7"))


if __name__ == "__main__":
    main()
