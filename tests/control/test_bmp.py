#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""BMP (RFC 7854, RFC 8671, RFC 9069) against a real keeld: a collector that decodes every message holds the tables of rib.routes, over changes, lost
sessions, changed policies, and collectors that stall or die. Needs root (a network namespace); else the exit status is 77.

usage: test_bmp.py KEELD [Bmp.TEST...]
"""
import json
import os
import struct
import subprocess
import unittest

import keel_rig
from bmp_collector import DOWN, INITIATION, INSTANCE, LOC, LOCAL, OUT, POST, STATISTICS, TERMINATION, UP, Collector, tlvs
from keel_rig import NOTIFICATION, OPEN, THEM, UPDATE, US, V4, V6, VRF, KeelTest, nlri, update_of, withdrawal_of

OTHER, ASN, OTHER_ASN = "192.0.2.3", 64513, 64514
KEYS = ("as_path", "origin", "next_hop", "local_pref", "med")


class Bmp(KeelTest):
    turn = 1  # of many(): no two have the same attributes
    instance = None  # (peer type, distinguisher) of the instance with all peers

    def begin(self, *ports, views=("adj-in-pre", "adj-in", "loc"), keep=True, tracking=False, **more):
        family = {"import_policy": "incoming", "export_policy": "accept-all", "keep_all_routes": keep}
        plain = {"import_policy": "accept-all", "export_policy": "accept-all"}
        vrfs = {"vrfs": [{"name": VRF, "rd": "64512:9"}]} if VRF else {}
        self.instance = (INSTANCE, 64512 << 32 | 9) if VRF else None
        self.start({
            **vrfs,
            "router": {"asn": 64512, "router_id": US},
            "bmp": [dict({"address": "127.0.0.1", "port": p, "views": list(views)}, **more) for p in ports],
            "prefix_lists": [{"name": "no", "entries": [{"action": "permit", "prefix": "20.9.0.0/16", "le": 24}]}],
            "route_policies": [{"name": "incoming", "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": "no"}},
                                                            {"seq": 20, "action": "permit", "set": {"local_pref": 200, "med": 7}}]}],
            "bgp": {"next_hop_tracking": tracking, "networks": [{"prefix": "198.51.100.0/24"}], "peers": [
                {"address": THEM, "asn": ASN, "passive": True, "families": {V4: family, V6: family}},
                {"address": OTHER, "asn": OTHER_ASN, "passive": True, "families": {V4: plain}}]}})

    def collector(self, port, **keys):
        c = Collector(self.namespace, port, **keys)  # of an instance: before begin()
        self.addCleanup(c.close)
        return c

    def routes(self, view, family=V4, peer=None, but=None):
        """`but`: without the routes of this peer."""
        found, params = {}, {"family": family, "view": view, "limit": 10000, **({"peer": peer} if peer else {})}
        while True:
            answer = self.keel.call("rib.routes", params)
            for r in answer["routes"]:
                if (view != "loc" or r["best"]) and (but is None or r["peer"] != but):
                    found[r["prefix"]] = {k: r.get(k) for k in KEYS}
            if "next" not in answer:
                return found
            params["cursor"] = answer["next"]

    def expected(self, peers=(THEM, OTHER), views=("adj-in-pre", "adj-in", "loc")):
        tables, of = {}, self.keys()
        for p in peers:
            if "adj-in-pre" in views and p == THEM:
                tables[p, 0] = {**self.routes("adj-in-pre", peer=p), **self.routes("adj-in-pre", V6, p)}
            if "adj-in" in views:
                tables[p, POST] = {**self.routes("adj-in", peer=p), **(self.routes("adj-in", V6, p) if p == THEM else {})}
        if "loc" in views:
            tables[LOC, 0] = {**self.routes("loc"), **self.routes("loc", V6)}
            for r in tables[LOC, 0].values():
                r["next_hop"] = r["next_hop"] or "0.0.0.0"
        for p in peers:
            families = (V4, V6) if p == THEM else (V4,)
            if "adj-out-pre" in views:
                tables[p, OUT] = {k: r for f in families for k, r in self.routes("loc", f, but=p).items()}
                for r in tables[p, OUT].values():
                    r["next_hop"] = r["next_hop"] or "0.0.0.0"
            if "adj-out" in views:
                tables[p, OUT | POST] = {k: r for f in families for k, r in self.routes("adj-out", f, p).items()}
        return {(of.get(k[0], k[0]), k[1]): v for k, v in tables.items() if v}

    def keys(self):
        """The names of peers of an instance in the collector."""
        kind, rd = self.instance or (None, 0)
        return {p: (LOC if p == LOC else kind, rd, p) for p in (THEM, OTHER, LOC)} if kind else {}

    def same(self, c, peers=(THEM, OTHER), views=("adj-in-pre", "adj-in", "loc")):
        def look():
            c.rest()  # tables that still change would be asked for in vain
            want = self.expected(peers, views)
            with c.changed:
                good = c.changed.wait_for(lambda: {k: v for k, v in c.tables.items() if v} == want, 1)
                self.last = {k: dict(v) for k, v in c.tables.items() if v}, want
            return good
        try:
            self.wait("the tables of rib.routes", look)
        except AssertionError:
            have, want = self.last
            for k in sorted(set(have) | set(want), key=str):
                a, b = have.get(k, {}), want.get(k, {})
                print(k, len(a), len(b), [(p, a.get(p), b.get(p)) for p in sorted(set(a) | set(b)) if a.get(p) != b.get(p)][:3], flush=True)
            raise

    def summary(self):
        return self.keel.call("bmp.summary")["collectors"]

    def announce_v6(self, peer, *networks):
        for n in networks:
            peer.send(UPDATE, update_of(V6, "2001:db8::2", (ASN,), nlri(V6, n, 48)))

    def speakers(self):
        them, other = self.speak(), self.speak(address=OTHER, asn=OTHER_ASN)
        them.announce("20.9.0.0", "20.0.0.0", "20.0.1.0")
        self.announce_v6(them, "2001:db8:7::")
        other.announce("20.0.1.0", "20.0.2.0", asns=(OTHER_ASN, 65000))
        self.wait("the routes", lambda: len(self.routes("adj-in", peer=THEM)) >= 2 and len(self.routes("adj-in", peer=OTHER)) == 2 and
                  len(self.routes("adj-in", V6, THEM)) == 1)
        return them, other

    def test_tables_and_messages(self):
        c = self.collector(9001)
        self.begin(9001, statistics_s=1)
        them, other = self.speakers()
        self.same(c)
        self.assertEqual(set(c.table(THEM)) - set(c.table(THEM, POST)), {"20.9.0.0/24"})  # refused: before policy alone
        self.assertEqual(c.table(THEM, POST)["20.0.0.0/24"]["local_pref"], 200)
        kind, _, body = c.messages[0]
        self.assertEqual((kind, tlvs(body)[0][1][:4]), (INITIATION, b"Keel"))
        # Peer Up: local address and ports, then both OPENs
        body = c.peers[THEM]
        self.assertEqual((body[:16], body[16:18]), (bytes(12) + bytes([192, 0, 2, 1]), struct.pack(">H", 179)))
        sent = body[20:]
        length = struct.unpack(">H", sent[16:18])[0]
        received = sent[length:]
        self.assertEqual((sent[18], received[18]), (OPEN, OPEN))
        self.assertEqual(struct.unpack(">H", received[20:22])[0], ASN)
        self.assertEqual(len(received), struct.unpack(">H", received[16:18])[0])
        self.assertIn((3, b"global"), tlvs(c.peers[LOC][20 + 2 * struct.unpack(">H", c.peers[LOC][36:38])[0]:]))
        self.wait("End-of-RIB of each view", lambda: {e for e in c.ends if e[2] == (1, 1)} >=
                  {(p, f, (1, 1)) for p, f in ((THEM, 0), (THEM, POST), (OTHER, POST), (LOC, 0))}, c.changed)
        # changes
        them.withdraw("20.0.1.0")
        other.announce("20.0.2.0", asns=(OTHER_ASN,))
        them.announce("20.0.3.0")
        self.same(c)
        self.wait("statistics", lambda: {p for k, p, _ in c.messages if k == STATISTICS} >= {THEM, OTHER, LOC}, c.changed)
        stats = [b for k, p, b in c.messages if k == STATISTICS and p == THEM][-1]
        self.assertEqual(struct.unpack(">I", stats[:4])[0], len(tlvs(stats[4:])))
        # a changed policy
        self.keel.commit({"route_policies": [{"name": "incoming", "nodes": [{"seq": 20, "action": "permit", "set": {"local_pref": 300}}]}]})
        self.wait("the new policy", lambda: c.table(THEM, POST).get("20.9.0.0/24", {}).get("local_pref") == 300, c.changed)
        self.same(c)
        self.assertEqual([(s["state"], s["peers"]) for s in self.summary()], [("up", 2)])
        self.wait("all is sent", lambda: self.summary()[0]["synced"])

    def test_sessions_end(self):
        c = self.collector(9001)
        self.begin(9001)
        them, other = self.speakers()
        self.same(c)
        them.send(NOTIFICATION, bytes([6, 2]))
        them.close()
        self.wait("Peer Down", lambda: THEM not in c.peers, c.changed)
        down = [b for k, p, b in c.messages if k == DOWN and p == THEM][-1]
        self.assertEqual((down[0], down[19], down[20:22]), (3, NOTIFICATION, bytes([6, 2])))  # by the remote system, with the NOTIFICATION
        self.same(c, peers=(OTHER,))
        self.keel.call("bgp.reset", {"family": V4, "scope": "peer", "peer": OTHER, "force": True})
        self.wait("Peer Down", lambda: OTHER not in c.peers, c.changed)
        down = [b for k, p, b in c.messages if k == DOWN and p == OTHER][-1]
        self.assertEqual((down[0], down[19], down[20:22]), (1, NOTIFICATION, bytes([6, 4])))
        self.same(c, peers=())
        again = self.speak(address=OTHER, asn=OTHER_ASN)
        again.announce("20.0.5.0")
        self.wait("the new session", lambda: "20.0.5.0/24" in c.table(OTHER, POST), c.changed)
        self.same(c, peers=(OTHER,))
        again.close()  # without a NOTIFICATION
        self.wait("Peer Down", lambda: OTHER not in c.peers, c.changed)
        self.assertEqual([b for k, p, b in c.messages if k == DOWN and p == OTHER][-1], bytes([4]))

    @unittest.skipIf(VRF, "its range is of the default VRF")
    def test_a_peer_of_a_range_returns(self):
        """With the id of a peer that has gone: the Peer Down of its last session comes first."""
        first, second = "192.0.2.50", "192.0.2.51"
        family = {"import_policy": "accept-all", "export_policy": "accept-all"}
        self.start({"router": {"asn": 64512, "router_id": US}, "bmp": [{"address": "127.0.0.1", "port": 9001, "views": ["adj-in"]}],
                    "bgp": {"groups": [{"name": "g", "families": {V4: family, V6: family}}],
                            "listen_ranges": [{"prefix": "192.0.2.48/29", "group": "g", "asn": ASN}]}})
        c = self.collector(9001)
        for _ in range(8):
            a, b = self.speak(address=first), self.speak(address=second)
            self.wait("both", lambda: set(c.peers) == {first, second}, c.changed)
            a.close()
            self.wait("the end of the first", lambda: len(self.keel.call("bgp.peers")["peers"]) == 1)
            b.close()
            b = self.speak(address=second)
            self.wait("the second alone", lambda: set(c.peers) == {second} or not c.thread.is_alive(), c.changed)
            self.assertTrue(c.thread.is_alive(), "a message of BMP that contradicts the ones before")
            b.close()
            self.wait("the end of both", lambda: not c.peers, c.changed)

    def test_collectors_come_and_go(self):
        self.begin(9001, 9002)
        them, other = self.speakers()
        self.keel.call("bmp.summary")
        a, b = self.collector(9001), self.collector(9002)
        self.same(a)
        self.same(b)
        a.drop()
        them.announce("20.0.4.0")
        self.same(b)
        self.wait("a second connection", lambda: a.connections == 2, a.changed)
        self.same(a)
        # views of a collector are changed, the other is removed
        self.keel.commit({"bmp": [{"address": "127.0.0.1", "port": 9001, "views": ["loc"]}]})
        self.wait("the end", lambda: b.messages[-1][0] == TERMINATION, b.changed)
        self.wait("a third connection", lambda: a.connections == 3, a.changed)
        self.same(a, views=("loc",))
        self.assertEqual(set(a.peers), {LOC})
        self.keel.commit({"bmp": []})
        self.assertEqual(self.summary(), [])
        self.assertFalse(them.closed() or other.closed())

    def test_without_kept_routes(self):
        c = self.collector(9001)
        self.begin(9001, keep=False)
        self.speakers()
        self.same(c, views=("adj-in", "loc"))

    def many(self, peer, second, count=1000):
        """Four routes a message: octets fill a collector's sockets, but a look at all tables costs by the route."""
        communities = struct.pack(">BBB10I", 0xc0, 8, 40, *range(64513 << 16, (64513 << 16) + 10))
        for n in range(0, count, 4):
            block = b"".join(bytes([24, 30 + second, (n + i) >> 8 & 0xff, (n + i) & 0xff]) for i in range(4))
            peer.send(UPDATE, update_of(V4, peer.address, (peer.asn, self.turn, 1 + n), block, communities))
        self.turn += 1

    def test_stalled_collector_is_dropped_and_gets_all_again(self):
        stalled, good = self.collector(9001, reads=False), self.collector(9002)
        self.begin(9001, 9002, stall_s=2)
        them, other = self.speakers()
        before = self.keel.call("bmp.summary")["memory_bytes"]
        for i in range(4):  # more octets than the sockets hold
            self.many(them, i)
        self.same(good)
        self.wait("the end of the connection", lambda: self.summary()[0]["stalls"] > 0)
        self.assertLess(self.keel.call("bmp.summary")["memory_bytes"] - before, 4 << 20)
        self.assertFalse(them.closed() or other.closed())
        them.withdraw("20.0.0.0")
        patient = [{"address": "127.0.0.1", "port": p, "views": ["adj-in-pre", "adj-in", "loc"], "stall_s": 600} for p in (9001, 9002)]
        self.keel.commit({"bmp": patient})
        stalled.reads.set()
        self.same(stalled)
        self.same(good)

    def test_slow_collector_gets_lost_peers_again(self):
        c = self.collector(9001, reads=False)
        self.begin(9001, stall_s=600, views=("adj-in",))
        them, other = self.speakers()
        self.wait("the connection", lambda: c.connections == 1, c.changed)
        for i in range(16):
            self.many(them, i % 4)  # each change of attributes is another message
            self.many(other, 100 + i % 4)
        c.reads.set()
        self.same(c, views=("adj-in",))
        self.assertEqual(self.summary()[0]["connections"], 1)
        self.assertFalse(them.closed() or other.closed())

    OUT_VIEWS = ("loc", "adj-out-pre", "adj-out")

    def test_adj_rib_out(self):
        c = self.collector(9001)
        self.begin(9001, views=self.OUT_VIEWS, statistics_s=1)
        them, other = self.speakers()
        self.same(c, views=self.OUT_VIEWS)
        out = OUT | POST
        self.assertEqual({p for p, r in c.table(THEM, out).items() if r["as_path"].split()[0] == "64512"}, set(c.table(THEM, out)))
        self.assertEqual(set(c.table(OTHER, out)) & {"20.0.2.0/24"}, set())  # its own
        self.wait("End-of-RIB of each view", lambda: {e for e in c.ends if e[2] == (1, 1)} >=
                  {(p, f, (1, 1)) for p in (THEM, OTHER) for f in (OUT, out)}, c.changed)
        them.withdraw("20.0.1.0")
        other.announce("20.0.2.0", asns=(OTHER_ASN,))
        other.announce("20.0.9.0", asns=(OTHER_ASN,))
        them.announce("20.0.3.0")
        self.wait("the last route", lambda: "20.0.9.0/24" in c.table(THEM, out), c.changed)
        self.same(c, views=self.OUT_VIEWS)
        self.assertIn("20.0.9.0/24", c.table(THEM, out))
        # changed by export policy, then refused: before policy the route stays
        for action, has in (("permit", True), ("deny", False)):
            self.keel.commit({"route_policies": self.keel.on_disk()["route_policies"][:1] + [
                {"name": "outgoing", "nodes": [{"seq": 10, "action": action, "match": {"origin": "igp"}, "set": {"med": 77}}]}],
                "bgp": {"peers": [dict(p, families=dict(p["families"], **{V4: dict(p["families"][V4], export_policy="outgoing")}))
                                  for p in self.keel.on_disk()["bgp"]["peers"]]}})
            self.wait("the export policy", lambda: ("20.0.9.0/24" in c.table(THEM, out)) == has and
                      (not has or c.table(THEM, out)["20.0.9.0/24"]["med"] == 77), c.changed)
            self.assertIn("20.0.9.0/24", c.table(THEM, OUT))
            self.same(c, views=self.OUT_VIEWS)
        self.keel.commit({"route_policies": self.keel.on_disk()["route_policies"][:1] + [
            {"name": "outgoing", "nodes": [{"seq": 10, "action": "permit"}]}]})
        self.same(c, views=self.OUT_VIEWS)
        # statistics: routes in Adj-RIB-Out (RFC 8671 6.2)
        want = len([p for p in c.table(THEM, out) if ":" not in p])

        def counted():
            stats = [dict(tlvs(b[4:])) for k, p, b in c.messages if k == STATISTICS and p == THEM]
            return stats and struct.unpack(">Q", stats[-1][15])[0] == len(c.table(THEM, out)) and any(
                v == struct.pack(">HBQ", 1, 1, want) for b in [c.messages] for k, p, body in b if k == STATISTICS and p == THEM
                for t, v in tlvs(body[4:]) if t == 17)
        self.wait("statistics", counted, c.changed)
        # the session begins anew
        other.close()
        self.same(c, peers=(THEM,), views=self.OUT_VIEWS)
        other = self.speak(address=OTHER, asn=OTHER_ASN)
        other.announce("20.0.5.0")
        self.same(c, views=self.OUT_VIEWS)
        self.assertFalse(them.closed())
        self.assertEqual(self.summary()[0]["resyncs"], 0)

    def test_no_withdrawal_in_vain(self):
        """Withdrawals name only what was announced: routes that policy refuses, routes that come back, routes of the peer itself, routes without a
        valid next hop."""
        views = ("adj-in-pre", "adj-in") + self.OUT_VIEWS
        c = self.collector(9001)
        self.begin(9001, views=views, tracking=True)
        them, other = self.speak(), self.speak(address=OTHER, asn=OTHER_ASN)
        self.same(c, views=views)
        for n in range(20):
            them.announce("20.9.%d.0" % n)  # refused, and kept
            them.announce("20.9.%d.0" % n, asns=(ASN, 65000))
            them.say("20.8.%d.0" % n, (ASN, 64512))  # a loop
            other.say("20.8.%d.0" % n, (OTHER_ASN, 64512))
            them.announce("20.1.%d.0" % n)
            other.announce("20.1.%d.0" % n, asns=(OTHER_ASN, 65000))
            other.send(UPDATE, update_of(V4, "203.0.113.9", (OTHER_ASN, 65000), bytes([24, 20, 2, n])))  # no valid next hop
            self.same(c, views=views) if n == 0 else None
        self.same(c, views=views)
        them.withdraw("20.1.0.0", "20.9.0.0", "20.9.1.0")
        other.withdraw("20.1.1.0")
        them.withdraw("20.1.1.0")
        other.send(UPDATE, withdrawal_of(V4, bytes([24, 20, 2, 0])))
        self.wait("the withdrawal", lambda: "20.1.1.0/24" not in c.table(THEM, POST), c.changed)
        self.same(c, views=views)
        self.assertEqual(c.vain, [])
        self.assertEqual(self.summary()[0]["resyncs"], 0)

    def test_adj_rib_out_of_a_whole_table(self):
        """Collectors before and after the table; a collector that stalls loses changes, and gets the peers again."""
        first, stalled = self.collector(9001), self.collector(9002, reads=False)
        self.begin(9001, 9002, views=self.OUT_VIEWS, stall_s=600)
        them, other = self.speakers()
        self.many(them, 0)
        self.same(first, views=self.OUT_VIEWS)
        for i in range(8):
            self.many(them, i % 4)
            self.many(other, 100 + i % 4)
        self.same(first, views=self.OUT_VIEWS)
        self.assertLess(self.keel.call("bmp.summary")["memory_bytes"], 24 << 20)
        stalled.reads.set()
        self.same(stalled, views=self.OUT_VIEWS)
        self.assertGreater(self.summary()[1]["resyncs"], 0)
        self.assertFalse(them.closed() or other.closed())

    def test_update_group_splits(self):
        """Peers of one update group; one gets another export policy, and routes change meanwhile."""
        third = "192.0.2.50"
        c = self.collector(9001)
        self.begin(9001, views=("adj-out",))
        peers = self.keel.on_disk()["bgp"]["peers"]
        peers.append(dict(peers[1], address=third))
        self.keel.commit({"bgp": {"peers": peers}})
        them, other = self.speakers()
        self.speak(address=third, asn=OTHER_ASN)
        all_of = {"peers": (THEM, OTHER, third), "views": ("adj-out",)}
        self.same(c, **all_of)
        group = {p["address"]: p["families"][V4]["update_group"]["id"] for p in self.keel.call("bgp.peers")["peers"]}
        self.assertEqual(group[OTHER], group[third])
        peers[2] = dict(peers[2], families={V4: {"import_policy": "accept-all", "export_policy": "incoming"}})
        self.many(them, 0, 1000)
        self.keel.commit({"bgp": {"peers": peers}})
        self.many(them, 1, 1000)
        self.wait("the split", lambda: len({p["families"][V4]["update_group"]["id"] for p in self.keel.call("bgp.peers")["peers"]}) == 2)
        them.withdraw("20.0.1.0")
        self.same(c, **all_of)
        self.assertNotEqual(c.table(OTHER, OUT | POST), c.table(third, OUT | POST))
        self.wait("all routes again", lambda: self.summary()[0]["resyncs"] > 0)  # names of the old group are not for the new one
        self.same(c, **all_of)

    def test_default_route_of_this_router(self):
        c = self.collector(9001)
        self.begin(9001, views=("adj-out",))
        document = self.keel.on_disk()
        document["bgp"]["peers"][1]["families"][V4]["default_originate"] = True
        self.keel.commit({"bgp": {"peers": document["bgp"]["peers"]}})
        them, other = self.speakers()
        self.wait("the default route", lambda: "0.0.0.0/0" in c.table(OTHER, OUT | POST), c.changed)
        document["bgp"]["peers"][1]["families"][V4]["default_originate"] = False
        self.keel.commit({"bgp": {"peers": document["bgp"]["peers"]}})
        self.wait("its end", lambda: "0.0.0.0/0" not in c.table(OTHER, OUT | POST), c.changed)

    @unittest.skipUnless(VRF, "needs VRF=1")
    def test_instance(self):
        """Peers and Loc-RIB of an instance: with the route distinguisher, and without."""
        views = ("adj-in-pre", "adj-in") + self.OUT_VIEWS
        c = self.collector(9001)
        self.begin(9001, views=views)
        them, other = self.speakers()
        self.same(c, views=views)
        kind, rd = self.instance
        self.assertEqual(set(c.peers), {(kind, rd, THEM), (kind, rd, OTHER), (LOC, rd, LOC), LOC})
        up = c.peers[LOC, rd, LOC]
        self.assertIn((3, VRF.encode()), tlvs(up[20 + 2 * struct.unpack(">H", up[36:38])[0]:]))
        them.withdraw("20.0.1.0")
        other.announce("20.0.9.0", asns=(OTHER_ASN,))
        self.same(c, views=views)
        other.close()
        self.wait("Peer Down", lambda: (kind, rd, OTHER) not in c.peers, c.changed)
        self.same(c, peers=(THEM,), views=views)
        # another distinguisher, then none: the collector gets all again
        self.keel.commit({"vrfs": [{"name": VRF, "rd": "64512:10"}]})
        self.instance = (INSTANCE, 64512 << 32 | 10)
        self.same(c, peers=(THEM,), views=views)
        self.keel.commit({"vrfs": [{"name": VRF}]})
        self.wait("the peer of a local instance", lambda: any(p[0] == LOCAL for p in list(c.peers) if p != LOC), c.changed)
        self.instance = next(p[:2] for p in list(c.peers) if p != LOC and p[0] == LOCAL)
        self.same(c, peers=(THEM,), views=views)
        self.assertFalse(them.closed())
        # the instance goes
        self.keel.commit({"vrfs": [], "bgp": {"peers": [], "networks": []}})
        self.wait("the end of the instance", lambda: set(c.peers) == {LOC}, c.changed)

    def test_alarm_and_retries(self):
        self.begin(9001)
        self.wait("the error", lambda: self.summary()[0].get("error") == "Connection refused")
        c = self.collector(9001)
        self.wait("a connection", lambda: self.summary()[0]["state"] == "up")
        self.wait("the first message", lambda: c.messages, c.changed)
        self.assertEqual(c.messages[0][0], INITIATION)

    def test_pmbmpd_shows_the_same_tables(self):
        """pmacct's collector, whose log of messages gives the tables."""
        log, conf = os.path.join(self.folder, "log.json"), os.path.join(self.folder, "pmbmpd.conf")
        with open(conf, "w") as f:
            f.write("bmp_daemon_ip: 127.0.0.1\nbmp_daemon_port: 9001\nbmp_daemon_max_peers: 8\nbmp_daemon_msglog_file: %s\n"
                    "bmp_daemon_msglog_output: json\nlogfile: %s\n" % (log, os.path.join(self.folder, "pmbmpd.log")))
        pmbmpd = subprocess.Popen(["ip", "netns", "exec", self.namespace, "pmbmpd", "-f", conf])
        self.addCleanup(pmbmpd.wait)
        self.addCleanup(pmbmpd.kill)  # SIGTERM leaves a pmbmpd with a session running
        views = ("adj-in-pre", "adj-in", "loc", "adj-out")
        self.begin(9001, statistics_s=1, views=views)  # each report fills the buffer of the log
        them, other = self.speakers()
        self.many(them, 0, 400)
        them.withdraw("20.0.1.0")
        other.announce("20.0.2.0", asns=(OTHER_ASN,))

        def tables():
            found = {}
            with open(log) as f:
                for line in f:
                    if not line.endswith("\n"):
                        break
                    e = json.loads(line)
                    if "ip_prefix" not in e:
                        continue
                    key = (LOC, 0) if e.get("is_loc") else (e["peer_ip"], (POST if e.get("is_post") else 0) | (OUT if e.get("is_out") else 0))
                    table = found.setdefault(key, {})
                    if e["log_type"] == "withdraw":
                        table.pop(e["ip_prefix"], None)
                    else:
                        table[e["ip_prefix"]] = (e.get("as_path", ""), e["bgp_nexthop"], e.get("local_pref", 0) or None)
            return {k: v for k, v in found.items() if v}

        def look():
            if not os.path.exists(log):
                return False
            want = {k: {p: (r["as_path"], r["next_hop"], r["local_pref"] or None) for p, r in t.items()} for k, t in self.expected(views=views).items()}
            self.last = tables(), want
            return self.last[0] == want
        try:
            self.wait("the tables in pmbmpd", look)
        except AssertionError:
            print({k: len(v) for k, v in self.last[0].items()}, {k: len(v) for k, v in self.last[1].items()}, flush=True)
            raise


keel_rig.main()
