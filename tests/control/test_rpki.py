#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Origin validation by RPKI caches, against a real keeld: changed records withdraw and restore exactly the routes that they cover, no session is
touched and no peer is asked (RFC 9324), and caches that break the protocol, stall or die cost no session and no data. Needs root (a network
namespace); else the exit status is 77.

usage: test_rpki.py KEELD [Rpki.TEST...]
"""
import json
import os
import shutil
import struct
import subprocess
import threading
import time

import keel_rig
from keel_rig import THEM, US, KeelTest
from rtr_cache import ERROR, IPV4, RESET_QUERY, RESPONSE, SERIAL_QUERY, Cache

OTHER = "192.0.2.3"
A, B, C = "20.0.0.0/24", "20.0.1.0/24", "20.0.2.0/24"
ASN, FOREIGN = 64513, 64999


class Rpki(KeelTest):
    def begin(self, *ports, refresh=True, preference=None):
        family = {"ipv4-unicast": {"import_policy": "origin", "export_policy": "accept-all"}}
        plain = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}
        self.start({
            "router": {"asn": 64512, "router_id": US},
            "rpki": {"caches": [dict({"address": "127.0.0.1", "port": p}, **({"preference": i} if preference else {}))
                                for i, p in enumerate(ports)]},
            "route_policies": [{"name": "origin", "nodes": [
                {"seq": 10, "action": "deny", "match": {"validation": "invalid"}},
                {"seq": 20, "action": "permit", "match": {"validation": "valid"}, "set": {"local_pref": 200}},
                {"seq": 30, "action": "permit"}]}],
            "bgp": {"next_hop_tracking": False, "peers": [
                {"address": THEM, "asn": ASN, "passive": True, "families": family},
                {"address": OTHER, "asn": 64514, "passive": True, "families": plain}]}})
        self.them, self.other = self.speak(refresh=refresh), self.speak(address=OTHER, asn=64514)
        self.them.announce("20.0.0.0", "20.0.1.0", "20.0.2.0")
        self.since = time.monotonic()
        self.established = [p["established_count"] for p in self.keel.call("bgp.peers")["peers"]]

    def cache(self, port, *roas, **keys):
        c = Cache(self.namespace, port, *roas, **keys)
        self.addCleanup(c.close)
        return c

    def holds(self, *routes):
        self.wait("the routes %s" % (routes,), lambda: self.other.table() == set(routes), self.other.changed)

    def summary(self):
        return self.keel.call("rpki.summary")

    def synced(self, port=None):
        self.wait("a synchronized cache", lambda: any(c["state"] == "synced" and port in (None, c["port"]) for c in self.summary()["caches"]))

    def untouched(self):
        self.assertEqual(self.them.requests(self.since), [])
        self.assertEqual([p["established_count"] for p in self.keel.call("bgp.peers")["peers"]], self.established)
        self.assertFalse(self.them.closed() or self.other.closed())

    def test_changed_records_apply_to_their_routes(self):
        cache = self.cache(8282, (B, 24, ASN))
        self.begin(8282)
        self.holds(A, B, C)
        self.synced()
        self.wait("a valid route", lambda: self.local_pref(B) == 200)
        self.wait("the records on main", lambda: self.validation(B) == "valid")
        events = self.keel.notifications("rpki")
        since = time.monotonic()
        self.assertEqual([self.validation(p) for p in (A, B)], ["not-found", "valid"])
        cache.set((B, 24, ASN), (A, 24, FOREIGN))
        self.holds(B, C)
        self.assertEqual(next(events)["changed"], 1)
        self.assertEqual([self.validation(p) for p in (A, B)], ["invalid", "valid"])
        self.assertEqual(self.other.told(since), (set(), {A}))  # no other prefix moved
        # maxLength: the covering record makes both invalid, the exact one keeps B
        cache.set((B, 24, ASN), ("20.0.0.0/16", 16, ASN))
        self.holds(B)
        cache.set()
        self.holds(A, B, C)
        self.wait("a route not found", lambda: self.local_pref(B) in (None, 100))
        self.assertEqual([q[1] for q in cache.queries], [RESET_QUERY] + [SERIAL_QUERY] * 3)
        self.untouched()

    def validation(self, prefix):
        return self.keel.call("rib.fate", {"family": "ipv4-unicast", "prefix": prefix})["paths"][0].get("validation")  # none before the first records

    def alarms(self):
        return [a["text"] for a in self.keel.call("system.info")["alarms"] if a["kind"] == "rpki"]

    def test_alarm_without_a_cache(self):
        cache = self.cache(8282, (A, 24, FOREIGN))
        self.begin(8282)
        self.holds(B, C)
        self.synced()
        self.assertEqual(self.alarms(), [])
        cache.close()
        self.wait("the alarm", lambda: self.alarms() == ["none of 1 RPKI caches is synchronized; 1 records are in use"])
        self.cache(8282, (A, 24, FOREIGN))
        self.wait("the end of the alarm", lambda: self.alarms() == [])
        self.untouched()

    def local_pref(self, prefix):
        routes = self.keel.call("rib.routes", {"family": "ipv4-unicast", "view": "loc", "prefix": prefix})["routes"]
        return routes[0].get("local_pref") if routes else None

    def test_routes_of_a_peer_without_route_refresh(self):
        cache = self.cache(8282, (A, 24, FOREIGN))
        self.begin(8282, refresh=False)
        self.holds(B, C)
        cache.set((C, 24, FOREIGN))
        self.holds(A, B)
        self.them.withdraw("20.0.2.0")  # while it is refused
        cache.set()
        self.holds(A, B)
        self.untouched()

    def test_fate_and_policy_test_validate(self):
        self.cache(8282, (A, 24, FOREIGN))
        self.begin(8282)
        self.holds(B, C)
        self.wait("the records on main", lambda: self.validation(A) == "invalid")
        fate = self.keel.call("rib.fate", {"family": "ipv4-unicast", "prefix": A})
        self.assertEqual([(p["reason"], p["import"]["node"]) for p in fate["paths"]], [("rejected-by-policy", 10)])
        tested = self.keel.call("policy.test", {"policy": "origin", "route": {"prefix": A, "as_path": str(ASN)}})
        self.assertEqual((tested["result"], tested["node"]), ("deny", 10))
        tested = self.keel.call("policy.test", {"policy": "origin", "route": {"prefix": A, "as_path": str(FOREIGN)}})
        self.assertEqual((tested["result"], tested["node"]), ("permit", 20))

    def test_version_0(self):
        cache = self.cache(8282, (A, 24, FOREIGN), version=0)
        self.begin(8282)
        self.holds(B, C)
        self.assertEqual(self.summary()["caches"][0]["version"], 0)
        cache.set((B, 24, FOREIGN))
        self.holds(A, C)
        self.assertEqual([q[0] for q in cache.queries], [1, 0])
        self.untouched()

    def test_version_refused(self):
        cache = self.cache(8282, (A, 24, FOREIGN), version=0)

        def refuse(c, s, version, kind, session, body):
            if version == 0:
                return c.answer(s, version, kind, session, body)
            s.sendall(struct.pack(">BBHIII", 0, ERROR, 4, 16, 0, 0))
            return s.close()
        cache.fault = refuse
        self.begin(8282)
        self.holds(B, C)
        self.untouched()

    def test_preference_and_death(self):
        first, second = self.cache(8282, (A, 24, FOREIGN)), self.cache(8283, (B, 24, FOREIGN))
        self.begin(8282, 8283, preference=True)
        self.synced(8282)
        self.synced(8283)
        self.holds(B, C)
        second.set((C, 24, FOREIGN))
        self.wait("the second cache", lambda: self.summary()["caches"][1]["serial"] == 1)
        self.holds(B, C)
        first.close()
        self.holds(A, B)
        second.set((A, 24, FOREIGN), (B, 24, FOREIGN))
        self.holds(C)
        # the last cache dies: its data stays until it expires
        second.close()
        self.wait("both down", lambda: all(c["state"] in ("down", "connecting") for c in self.summary()["caches"]))
        self.assertEqual(self.summary()["vrps"]["ipv4"], 2)
        self.holds(C)
        self.untouched()

    def test_equal_caches(self):
        """Each record that a second cache has, too, is in use once, and equal records are published once."""
        first, second = self.cache(8282, (A, 24, FOREIGN)), self.cache(8283, (A, 24, FOREIGN))
        self.begin(8282, 8283)
        self.holds(B, C)
        self.wait("both answers", lambda: all(c["answers"] == 1 for c in self.summary()["caches"]))
        second.set((A, 24, FOREIGN))
        self.wait("the same records", lambda: self.summary()["caches"][1]["serial"] == 1)
        self.assertEqual(self.summary()["publications"], 1)
        second.set((A, 24, FOREIGN), (B, 24, FOREIGN))
        self.holds(C)
        first.close()
        self.wait("the end of the first", lambda: self.summary()["caches"][0]["state"] in ("down", "connecting"))
        self.assertEqual((self.summary()["publications"], self.summary()["vrps"]["ipv4"]), (2, 2))
        self.holds(C)
        self.untouched()

    def test_a_restarted_cache(self):
        cache = self.cache(8282, (A, 24, FOREIGN))
        self.begin(8282)
        self.holds(B, C)
        since = time.monotonic()
        cache.restart((A, 24, FOREIGN), (B, 24, FOREIGN))
        self.holds(C)
        self.assertEqual(self.other.told(since), (set(), {B}))  # A did not come back in between
        self.assertEqual([q[1] for q in cache.queries], [RESET_QUERY, SERIAL_QUERY, RESET_QUERY])
        self.untouched()

    def test_a_restarted_cache_refuses_its_old_session(self):
        """As StayRTR does: the Serial Query of the old session gets an Error Report. It is not repeated, and the old data stays until the new is whole."""
        cache = self.cache(8282, (A, 24, FOREIGN), (B, 24, ASN))

        def refuse(c, s, version, kind, session, body):
            if kind == RESET_QUERY:
                return c.answer(s, version, kind, session, body)
            s.sendall(struct.pack(">BBHIII", 1, ERROR, 0, 16, 0, 0))
            return s.close()
        self.begin(8282)
        self.holds(B, C)
        self.synced()
        cache.fault = refuse
        since = time.monotonic()
        cache.restart((A, 24, FOREIGN), (C, 24, FOREIGN))
        self.holds(B)
        self.assertEqual(self.other.told(since), (set(), {C}))  # A did not come back in between
        self.assertEqual([q[1] for q in cache.queries], [RESET_QUERY, SERIAL_QUERY, RESET_QUERY])
        self.untouched()

    def late(self, port, *roas):
        """A cache that answers when the result is set."""
        answers, cache = threading.Event(), self.cache(port, *roas)

        def fault(c, s, version, kind, session, body):
            answers.wait(keel_rig.WAIT_S)
            c.answer(s, version, kind, session, body)
        cache.fault = fault
        self.addCleanup(answers.set)
        return cache, answers

    def commit_caches(self, *caches):
        self.keel.commit({"rpki": {"caches": [{"address": "127.0.0.1", "port": p, "preference": n} for p, n in caches]}})

    def test_a_replaced_cache(self):
        """The data of a cache that a commit replaces stays in use until the new cache has answered; a cache that is only removed takes its data along."""
        self.cache(8282, (A, 24, FOREIGN))
        new, answers = self.late(8283, (A, 24, FOREIGN), (B, 24, FOREIGN))
        self.begin(8282)
        self.holds(B, C)
        self.synced()
        since = time.monotonic()
        self.commit_caches((8283, 0))
        self.wait("the query", lambda: new.queries)
        # a commit in between, and back: the cache of before is a new cache, too
        self.commit_caches((8283, 0), (8284, 0))
        self.commit_caches((8283, 0))
        self.keel.call("rpki.summary")
        self.assertEqual(self.summary()["vrps"]["ipv4"], 1)
        self.assertEqual(self.other.told(since), (set(), set()))
        answers.set()
        self.holds(C)
        self.assertEqual(self.other.told(since), (set(), {B}))
        self.assertEqual(self.summary()["vrps"]["ipv4"], 2)
        self.untouched()

    def test_one_of_several_caches_is_replaced(self):
        """Neither a cache of less preference, nor the union without the removed cache, is used while the replacement owes its answer."""
        self.cache(8282, (A, 24, FOREIGN))
        self.cache(8283, (B, 24, FOREIGN))
        self.cache(8284, (C, 24, FOREIGN))
        new, answers = self.late(8285, (A, 24, FOREIGN))
        self.begin(8282, 8283, 8284)
        self.holds()
        self.commit_caches((8282, 1), (8283, 1), (8284, 2))
        self.holds(C)
        since = time.monotonic()
        self.commit_caches((8285, 1), (8283, 1), (8284, 2))
        self.wait("the query", lambda: new.queries)
        self.assertEqual((self.summary()["vrps"]["ipv4"], self.other.told(since)), (2, (set(), set())))
        answers.set()
        self.wait("the answer", lambda: self.summary()["caches"][0]["used"] or self.summary()["caches"][-1]["used"])
        self.assertEqual((self.summary()["vrps"]["ipv4"], self.other.told(since)), (2, (set(), set())))
        # without a replacement, and with one that would not be used, the data goes at once
        self.commit_caches((8283, 1), (8284, 2), (8286, 3))
        self.holds(A, C)
        self.untouched()

    def test_lies(self):
        """Each lie would make B invalid. The connection ends, the data stays, and the next connection is answered."""
        good = (A, 24, FOREIGN)
        bad = self.pdu(IPV4, self.v4(1, 24, 24))
        lies = {
            "twice": b"",
            "length": self.pdu(IPV4, self.v4(1, 33, 33)),
            "maximum": self.pdu(IPV4, self.v4(1, 24, 16)),
            "short": struct.pack(">BBHI", 1, IPV4, 0, 19) + bytes(11),
            "huge": struct.pack(">BBHI", 1, IPV4, 0, 0xffffffff),
            "type": struct.pack(">BBHI", 1, 99, 0, 8),
            "version": struct.pack(">BBHI", 3, RESPONSE, 0, 8),
        }
        # a cache for each lie, all at once: the caches wait for their next connections side by side
        caches = {name: self.cache(8282 + i, good) for i, name in enumerate(lies)}
        self.begin(*(c.port for c in caches.values()))
        self.holds(B, C)
        self.wait("the first answers", lambda: all(c["answers"] == 1 for c in self.summary()["caches"]))
        for name, cache in caches.items():
            def fault(c, s, version, kind, session, body, lie=lies[name]):
                c.fault = None  # once
                s.sendall(struct.pack(">BBHI", 1, RESPONSE, c.session, 8) + bad + (lie or bad) + c.end(1))
            cache.fault = fault
            cache.set(good, (C, 25, FOREIGN))
        for name, cache in caches.items():
            with cache.changed:
                self.assertTrue(cache.changed.wait_for(lambda cache=cache: len(cache.errors) == 1, keel_rig.WAIT_S), name)
        self.wait("the next answers", lambda: all(c["answers"] == 2 for c in self.summary()["caches"]))
        self.assertEqual([c["errors"] for c in self.summary()["caches"]], [1] * len(lies))
        self.holds(B)
        self.assertNotIn(B, self.other.told(0)[1])
        self.untouched()

    @staticmethod
    def pdu(kind, body):
        return struct.pack(">BBHI", 1, kind, 0, 8 + len(body)) + body

    @staticmethod
    def v4(flags, length, longest):
        return bytes([flags, length, longest, 0, 20, 0, 1, 0]) + struct.pack(">I", FOREIGN)

    def test_a_commit_adds_and_removes_caches(self):
        self.cache(8282, (A, 24, FOREIGN))
        self.begin()
        self.holds(A, B, C)
        self.keel.commit({"rpki": {"caches": [{"address": "127.0.0.1", "port": 8282}]}})
        self.holds(B, C)
        self.keel.commit({"rpki": None})
        self.holds(A, B, C)
        self.untouched()

    def test_only_for_imports(self):
        self.begin()
        self.keel.call("config.edit", {"merge": {"bgp": {"redistribute": [{"source": "static", "policy": "origin"}]}}})
        faults = self.keel.call("config.validate")["errors"]
        self.assertEqual([f["path"] for f in faults], ["/bgp/redistribute/0/policy"])

    @keel_rig.unittest.skipUnless(shutil.which("stayrtr"), "stayrtr is not installed")
    def test_stayrtr(self):
        file = os.path.join(self.folder, "roas.json")

        def write(*roas):
            with open(file + ".new", "w") as f:
                json.dump({"roas": [{"prefix": p, "maxLength": n, "asn": "AS%d" % a, "ta": "test"} for p, n, a in roas]}, f)
            os.rename(file + ".new", file)
        write((A, 24, FOREIGN))
        log = open(os.path.join(self.folder, "stayrtr"), "w")
        daemon = subprocess.Popen(["ip", "netns", "exec", self.namespace, "stayrtr", "-cache", file, "-bind", "127.0.0.1:8282", "-refresh", "1",
                                   "-checktime=false", "-metrics.addr", ""], stdout=log, stderr=log)
        self.addCleanup(lambda: (daemon.kill(), daemon.wait(), log.close()))
        self.begin(8282)
        self.holds(B, C)
        write((A, 24, FOREIGN), (B, 24, FOREIGN), ("2001:db8::/32", 48, FOREIGN))
        self.holds(C)
        self.assertEqual(self.summary()["vrps"], {"ipv4": 2, "ipv6": 1})
        write(("203.0.113.0/24", 24, FOREIGN))  # StayRTR 0.6.2 without records answers "no data available"
        self.holds(A, B, C)
        self.untouched()


keel_rig.main()
