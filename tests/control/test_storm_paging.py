#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A storm of policies with paging clients against a real keeld with 2 RIB threads: peers with full tables, commits of policies in a loop, ROUTE-REFRESH
requests of all peers, and clients that page rib.routes and bgp.peers at the same time. At the end every session is up, every page was consistent, and the
tables are as a fresh look says. With a keeld of -Db_sanitize=thread, a report of TSan fails the test. Needs root (a network namespace); else the exit status
is 77.

usage: test_storm_paging.py KEELD; STORM_S (default 4) and ROUTES (default 2000, of each peer) in the environment:
  meson setup build/tsan -Db_sanitize=thread -Dallocator=libc -Db_lundef=false && ninja -C build/tsan control/keeld
  STORM_S=300 ROUTES=20000 tests/control/test_storm_paging.py build/tsan/control/keeld
"""
import ipaddress
import json
import os
import socket
import struct
import threading
import time

# set before keeld starts: after a report, keeld ends with this exit status, which Keel.stop() refuses
os.environ["TSAN_OPTIONS"] = "exitcode=66 halt_on_error=0 " + os.environ.get("TSAN_OPTIONS", "")

import keel_rig  # noqa: E402
from keel_rig import REFRESH, UPDATE, US, V4, KeelTest, main  # noqa: E402

STORM_S = float(os.environ.get("STORM_S", "4"))
ROUTES = int(os.environ.get("ROUTES", "2000"))
PER_UPDATE = 500
PAGE = 97
keel_rig.WAIT_S = max(keel_rig.WAIT_S, 300)
PEERS = ["192.0.2.%d" % n for n in (2, 3, 50, 51)]
KEEPS = PEERS[:2]


def policies(n):
    """Each commit changes the attributes set by the imports, and the match of the exports."""
    return {"route_policies": [
        {"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": 100 + n % 3, "communities": {"add": ["64512:%d" % (n % 5)]}}}]},
        {"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"med": n % 7}}]}]}


def document():
    return {"router": {"asn": 64512, "router_id": US}, "dataplane": {"rib_threads": 2}, **policies(0), "bgp": {
        "next_hop_tracking": False, "policy_change_delay_s": 0,
        "peers": [{"address": a, "asn": 64513 + i, "passive": True, "families": {V4: {"import_policy": "in", "export_policy": "out", "keep_all_routes": a in KEEPS}}}
                  for i, a in enumerate(PEERS)]}}


class Client:
    """A thread with its own connection; an exception fails the test."""

    def __init__(self, test, turn):
        self.test, self.turn, self.count, self.error = test, turn, 0, None
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(keel_rig.WAIT_S)
        self.sock.connect(test.keel.path)
        self.lines = self.sock.makefile()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def call(self, method, **params):
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        assert "result" in answer, (method, params, answer)
        return answer["result"]

    def run(self):
        try:
            while not self.test.ended.is_set():
                self.turn(self)
                self.count += 1
        except Exception as e:
            self.error = e
            self.test.ended.set()

    def end(self):
        self.thread.join()
        self.lines.close()
        self.sock.close()


class StormPaging(KeelTest):
    def pages(self, client, method, key, **params):
        """The entries of all pages of a method."""
        found, more = [], {}
        while True:
            r = client.call(method, limit=PAGE, **params, **more)
            self.assertLess(len(r[key]), PAGE + len(PEERS))  # a destination is not divided
            found += r[key]
            if "next" not in r or self.ended.is_set():
                return found
            more = {"cursor": r["next"]}

    def page_routes(self, view, **params):
        """A destination stays in the table during the storm, so each destination is on a page; the advertised routes of a peer change with the
        best path."""
        def turn(client):
            routes = [(r["prefix"], r["peer"]) for r in self.pages(client, "rib.routes", "routes", family=V4, view=view, **params)]
            if not self.ended.is_set():
                self.assertTrue(view == "adj-out" or len({p for p, _ in routes}) == ROUTES, (view, len(routes)))
                self.assertEqual(len(set(routes)), len(routes), view)
        return turn

    def page_peers(self, client):
        r = client.call("bgp.peers", limit=1)
        found = r["peers"]
        while "next" in r:
            r = client.call("bgp.peers", limit=1, cursor=r["next"])
            found += r["peers"]
        self.assertEqual([p["address"] for p in found], PEERS)
        self.assertEqual({(p["state"], p["established_count"]) for p in found}, {("established", 1)})

    def commit(self, client):
        client.call("config.edit", merge=policies(client.count + 1))
        client.call("config.commit")
        client.call("system.info")

    def request(self, client):
        """Requests keeld's table as a peer, and the peers' tables."""
        for s in self.speakers:
            s.send(REFRESH, b"\0\1\0\1")
        client.call("bgp.refresh", family=V4, scope="all", direction="import")
        client.call("jobs.list")
        self.ended.wait(0.2)

    def fill(self, speaker, asn):
        path = b"\x40\1\1\0" + bytes([0x40, 2, 6, 2, 1]) + struct.pack(">I", asn) + b"\x40\3\4" + socket.inet_aton(speaker.address)
        for i in range(0, ROUTES, PER_UPDATE):
            nlri = b"".join(b"\x18" + ipaddress.IPv4Address(0x14000000 + (n << 8)).packed[:3] for n in range(i, min(i + PER_UPDATE, ROUTES)))
            speaker.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + nlri)

    def test_policies_in_a_storm(self):
        self.start(document())
        self.ended = threading.Event()
        self.speakers = [self.speak(address=a, asn=64513 + i) for i, a in enumerate(PEERS)]
        for i, s in enumerate(self.speakers):
            s.note = lambda kind, body: None  # the storm would fill memory
            s.again = lambda afi, safi, s=s, asn=64513 + i: (s.send(REFRESH, afi + b"\1" + safi), self.fill(s, asn), s.send(REFRESH, afi + b"\2" + safi))
            self.fill(s, 64513 + i)
        self.wait("all routes", lambda: [p["families"][V4]["accepted"] for p in self.keel.call("bgp.peers")["peers"]] == [ROUTES] * len(PEERS))
        turns = [self.page_routes("loc"), self.page_routes("adj-in", peer=PEERS[0]), self.page_routes("adj-out", peer=PEERS[3]), self.page_routes("loc"),
                 self.page_peers, self.page_peers, self.commit, self.request]
        clients = [Client(self, t) for t in turns]
        self.ended.wait(STORM_S)
        self.ended.set()
        for c in clients:
            c.end()
        self.assertEqual([c.error for c in clients if c.error], [])
        print("turns of the clients: %s" % [c.count for c in clients], flush=True)
        self.assertGreater(min(c.count for c in clients[4:]), 0)
        # keeld forgets the oldest of a thousand ended jobs, so the list counts, and not the ids noted earlier
        self.wait("the end of all jobs", lambda: all(j["state"] != "running" for j in self.keel.call("jobs.list")["jobs"]))
        for p in self.keel.call("bgp.peers")["peers"]:
            self.assertEqual((p["state"], p["established_count"], p["families"][V4]["accepted"]), ("established", 1, ROUTES))
        self.assertNotIn("ThreadSanitizer", self.keel.log_text())


if __name__ == "__main__":
    main()
