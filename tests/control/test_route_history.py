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

from keel_rig import KeelTest, RD, UPDATE, V4, VPNV4, main, nlri, update_of, withdrawal_of  # noqa: E402

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
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route"] + list(words), capture_output=True, text=True, timeout=60)
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
        for params, path in (({"family": V4}, "/prefix"), ({"family": V4, "prefix": "20.0.0.0"}, "/prefix"), ({"family": VPNV4, "prefix": PREFIX}, "/rd"),
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
                             text=True, timeout=60)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("192.0.2.2: withdrawn\n", out.stdout)
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route", "vpnv4", PREFIX, "history"], capture_output=True, text=True, timeout=60)
        self.assertEqual(out.returncode, 2)


if __name__ == "__main__":
    main()
