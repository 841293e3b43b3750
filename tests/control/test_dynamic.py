#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Peers of `listen_ranges` against a real keeld: dynamic peers appear, are refreshed and changed like configured peers, and disappear. Needs root
(a network namespace); else the exit status is 77.

usage: test_dynamic.py KEELD
"""
import json
import socket
import time

import keel_rig
from keel_rig import US, V4, KeelTest, Speaker

FIRST, SECOND, THIRD = "192.0.2.50", "192.0.2.51", "192.0.2.52"


def group(name="g", policy="in", **keys):
    return dict({"name": name, "families": {V4: {"import_policy": policy, "export_policy": "accept-all"}}}, **keys)


def document(*groups, local_pref=100, **bgp):
    return {"router": {"asn": 64512, "router_id": US},
            "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": local_pref}}]}],
            "bgp": dict({"networks": [{"prefix": "10.0.0.0/24"}], "groups": groups or [group()],
                         "listen_ranges": [{"prefix": "192.0.2.48/29", "group": "g", "asn": 64513}]}, **bgp)}


class Dynamic(KeelTest):
    def peers(self):
        return {p["address"]: p for p in self.keel.call("bgp.peers")["peers"]}

    def come(self, address, **how):
        s = self.speak(address=address, **how)
        self.wait("the session", lambda: self.peers().get(address, {}).get("state") == "established")
        self.wait("the first table", lambda: s.table() == {"10.0.0.0/24"})
        return s

    def commit(self, document):
        self.keel.call("config.edit", {"merge": document})
        return self.keel.call("config.commit")["effects"]

    def test_they_come_and_go(self):
        self.start(document())
        events = self.keel.notifications("session")
        self.assertEqual(self.peers(), {})
        first, second = self.come(FIRST), self.come(SECOND)
        p = self.peers()[FIRST]
        self.assertEqual((p["asn"], p["group"], p["type"]), (64513, "g", "external"))
        self.assertEqual([(e["event"], e["address"]) for e in (next(events), next(events))], [("up", FIRST), ("up", SECOND)])
        answer = self.keel.call("bgp.refresh", {"family": V4, "scope": "group", "group": "g", "direction": "export"})
        self.assertEqual([(q["address"], q["action"]) for q in answer["peers"]], [(FIRST, "readvertised"), (SECOND, "readvertised")])
        first.close()
        self.wait("the end of one", lambda: list(self.peers()) == [SECOND])
        self.assertEqual([(e["event"], e["address"]) for e in (next(events),)], [("down", FIRST)])
        self.come(FIRST)
        self.assertEqual(self.peers()[SECOND]["established_count"], 1)
        self.assertFalse(second.closed())

    def test_commits_reach_them(self):
        self.start(document())
        s = self.come(FIRST)
        since = time.monotonic()
        effects = self.commit(document(local_pref=120))
        self.assertEqual([(e["address"], e["direction"], e["effect"]) for e in effects], [(FIRST, "import", "route-refresh-sent")])
        self.wait_jobs(effects)
        self.assertEqual(len(s.requests(since)), 1)
        effects = self.commit(document(group(timers={"hold_s": 30})))  # advertised in OPEN
        self.assertIn((FIRST, "session-reset", "configuration-change"), [(e["address"], e["effect"], e.get("reason")) for e in effects])
        self.wait("the end of the session", s.closed)
        s = self.come(FIRST)
        self.assertEqual(self.commit({"bgp": {"listen_ranges": []}}),
                         [{"address": FIRST, "vrf": "default", "family": V4, "direction": "import", "effect": "session-reset", "reason": "peer-removed"}])
        self.wait("the end of the session", s.closed)
        self.assertEqual(self.peers(), {})

    def bounded(self, speaker, bound):
        """Both ends of the connection send segments of at most `bound` octets, less the options of TCP."""
        p = self.peers()[speaker.address]
        self.assertEqual(p["tcp_mss"], bound)
        for octets in (p["segment_bytes"], speaker.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)):
            self.assertTrue(bound - 40 <= octets <= bound, (bound, octets))

    def test_tcp_mss(self):
        """The bound of a group, of a range, and of a peer of its own: commit, preview, a commit that nobody confirms, rollback, reload and kill -9."""
        own = [{"address": THIRD, "asn": 64513, "group": "g", "passive": True, "tcp_mss": 600}]
        self.start(document(group(tcp_mss=700), peers=own))
        first, third = self.come(FIRST), self.come(THIRD)
        self.assertEqual([self.peers()[a]["tcp_mss"] for a in (FIRST, THIRD)], [700, 600])
        self.assertLessEqual(first.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), 600)  # of the listener
        self.bounded(third, 600)
        effects = self.commit({"bgp": {"peers": []}})
        self.assertEqual({e["address"] for e in effects}, {THIRD})
        change = {"merge": {"bgp": {"groups": [group(tcp_mss=500)]}}}
        self.keel.call("config.edit", change)
        previewed = self.keel.call("bgp.refresh.preview", {"candidate": True})["effects"]
        self.assertEqual({(e["address"], e["effect"]) for e in previewed}, {(FIRST, "session-reset")})
        self.assertFalse(first.closed())
        answer = self.keel.call("config.commit", {"confirm_s": 600})
        self.assertEqual({(e["address"], e["effect"]) for e in answer["effects"]}, {(FIRST, "session-reset")})
        self.wait("the end of the session", first.closed)
        second = self.come(FIRST)
        self.bounded(second, 500)
        self.keel.kill()  # not confirmed: the start returns to the commit before
        self.keel.start()
        third = self.come(FIRST)
        self.bounded(third, 700)
        self.keel.call("config.edit", change)
        self.keel.call("config.commit")
        self.wait("the end of the session", third.closed)
        self.bounded(self.come(FIRST), 500)
        self.keel.call("config.rollback", {"to": self.keel.call("config.history")["commits"][1]["id"]})
        fourth = self.come(FIRST)
        self.bounded(fourth, 700)
        disk = self.keel.on_disk()
        del disk["bgp"]["groups"][0]["tcp_mss"]
        with open(self.keel.file, "w") as f:
            json.dump(disk, f)
        self.keel.call("config.reload")
        self.wait("the end of the session", fourth.closed)
        last = self.come(FIRST)
        self.assertNotIn("tcp_mss", self.peers()[FIRST])
        self.assertGreater(last.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG), 1400)

    def test_one_that_is_configured_stays_up(self):
        self.start(document())
        s = self.come(FIRST)
        configured = [{"address": FIRST, "asn": 64513, "group": "g", "passive": True}]
        self.assertEqual(self.commit(document(peers=configured)), [])
        self.assertEqual(self.peers()[FIRST]["established_count"], 1)
        self.assertFalse(s.closed())
        s.close()
        self.wait("its end", lambda: self.peers()[FIRST]["state"] != "established")
        self.assertEqual(list(self.peers()), [FIRST])
        effects = self.commit(document(peers=[]))
        self.assertEqual([e["reason"] for e in effects], ["peer-removed"])
        self.come(FIRST)

    def test_listen_limit(self):
        self.start(document(listen_limit=2))
        self.come(FIRST)
        self.come(SECOND)
        for times in (1, 2):  # no peer is held after a refusal
            refused = Speaker(self.namespace, address=THIRD)
            self.addCleanup(refused.close)
            self.wait("the refusal", lambda: self.keel.log_text().count("dynamic-peer-refused peer=%s reason=listen-limit limit=2" % THIRD) == times)
            self.wait("the end of the connection", refused.closed)  # a new connection replaces a connection that keeld holds
        self.assertFalse(refused.established())
        self.assertEqual(sorted(self.peers()), [FIRST, SECOND])

    def test_retained_peers_give_way(self):
        """Sessions that are lost keep their routes, and their places in the range, for 4,095 s: the one that was lost last gives way to a connection, so
        that a stranger with many addresses cannot lock a range."""
        self.start(document(listen_limit=2))
        for address in (FIRST, *("192.0.2.%d" % last for last in (51, 53, 51, 53))):
            s = self.come(address, restart=4095)
            s.announce("20.0.1.0")  # nothing is retained of a session that its shard has not seen
            self.wait("the route", lambda: self.peers()[address]["families"][V4]["received"] == 1)
            s.close()
            self.wait("retention", lambda: self.peers()[address]["families"][V4]["retained"])
        self.assertEqual(len(self.peers()), 2)
        third = self.come(THIRD)
        self.assertTrue(self.peers()[FIRST]["families"][V4]["retained"])
        self.come(FIRST)
        self.assertFalse(third.closed())
        self.assertEqual(self.keel.log_text().count("dynamic-peer-evicted"), 4)

    def test_wrong_as(self):
        """The faults of a stranger go with its session, while their timer runs."""
        self.start(document())
        for _ in range(3):
            s = Speaker(self.namespace, address=FIRST, asn=64999)
            self.addCleanup(s.close)
            self.assertFalse(s.established())
            self.wait("the end of the stranger", lambda: self.peers() == {})
        self.come(SECOND)

    def test_whoever_the_open_says(self):
        self.start(document(listen_ranges=[{"prefix": "192.0.2.48/29", "group": "g"}]))
        self.come(FIRST, asn=64999)
        self.come(SECOND, asn=64512)
        peers = self.peers()
        self.assertEqual([(peers[a]["asn"], peers[a]["type"]) for a in (FIRST, SECOND)], [(64999, "external"), (64512, "internal")])
        answer = self.keel.call("bgp.refresh", {"family": V4, "scope": "internal", "direction": "export"})
        self.assertEqual([q["address"] for q in answer["peers"]], [SECOND])
        self.assertEqual([e["effect"] for e in self.commit({"bgp": {"groups": [group(description="words")]}})], [])
        self.assertEqual({a: p["established_count"] for a, p in self.peers().items()}, {FIRST: 1, SECOND: 1})


if __name__ == "__main__":
    keel_rig.main()
