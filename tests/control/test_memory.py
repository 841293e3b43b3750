#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shortage of memory: three innocent peers with 1,000 routes each, and a peer that sends endless routes with unique attributes until RLIMIT_AS is
reached. The session of the endless peer ends with Cease / Out of Resources and its routes are removed; the innocent peers keep their sessions
and routes, and are served. Twice, as the peer returns. Against a real keeld. Needs root (a network namespace); else the exit status is 77.

usage: test_memory.py KEELD
"""
import os
import resource
import socket
import struct

import keel_rig
from keel_rig import NOTIFICATION, UPDATE, US, V4, KeelTest, Speaker

INNOCENT = {"192.0.2.2": 64513, "192.0.2.3": 64514, "192.0.2.50": 64515}
TAKER, TAKER_ASN = "192.0.2.51", 64599
ROUTES = 1000
ROOM = 48 << 20  # beyond keeld's size with all peers established
MOST = 400 << 20  # maximum number of octets to send
COMMUNITIES = 850
SMALL = 200
OUT_OF_RESOURCES = bytes([6, 8])


class Quiet(Speaker):
    """Drops the large UPDATEs, which come from the taker."""

    def note(self, kind, body):
        if kind != UPDATE or len(body) < SMALL:
            super().note(kind, body)


class Memory(KeelTest):
    def peers(self):
        return {p["address"]: p for p in self.keel.call("bgp.peers")["peers"]}

    def connect(self, kind, address, asn):
        for _ in range(100):
            self.wait("end of idle hold", lambda: not self.peers()[address].get("idle_hold"))
            s = kind(self.namespace, address=address, asn=asn)
            self.addCleanup(s.close)
            if s.established():
                return s
        self.fail("no session with %s" % address)

    def flood(self, speaker):
        """Sends until the session is closed; returns the number of octets."""
        speaker.sock.settimeout(60)
        prefix, sent, i = socket.inet_aton(speaker.address), 0, 0
        path = bytes([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1]) + struct.pack(">I", TAKER_ASN) + b"\x40\x03\x04" + prefix
        rest = b"".join(struct.pack(">HH", 64599, k) for k in range(COMMUNITIES - 1))
        try:
            while sent < MOST and not speaker.closed():
                batch = b""
                for i in range(i + 1, i + 33):
                    attributes = path + struct.pack(">BBHI", 0xd0, 8, 4 * COMMUNITIES, i) + rest
                    body = struct.pack(">HH", 0, len(attributes)) + attributes + bytes([24]) + struct.pack(">I", 0x1e000000 + (i << 8))[:3]
                    batch += b"\xff" * 16 + struct.pack(">HB", 19 + len(body), UPDATE) + body
                speaker.sock.sendall(batch)
                sent += len(batch)
        except OSError:
            pass
        return sent

    def test_the_largest_taker_goes(self):
        families = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"next_hop_tracking": False, "peers": [
            {"address": a, "asn": asn, "passive": True, "families": families, "timers": {"idle_hold_s": 1}}
            for a, asn in dict(INNOCENT, **{TAKER: TAKER_ASN}).items()]}})
        innocent = {a: self.connect(Quiet, a, asn) for a, asn in INNOCENT.items()}
        for n, (address, speaker) in enumerate(innocent.items()):
            for i in range(ROUTES):
                speaker.say("%d.%d.%d.0" % (60 + n, i >> 8, i & 255), (INNOCENT[address],))
        self.wait("all innocent routes", lambda: all(self.peers()[a]["families"][V4]["received"] == ROUTES for a in INNOCENT))
        with open("/proc/%d/status" % self.keel.process.pid) as f:
            size = [int(line.split()[1]) << 10 for line in f if line.startswith("VmSize:")][0]
        resource.prlimit(self.keel.process.pid, resource.RLIMIT_AS, (size + ROOM, size + ROOM))
        for again in range(int(os.environ.get("ROUNDS", 2))):
            taker = self.connect(Quiet, TAKER, TAKER_ASN)
            sent = self.flood(taker)
            self.wait("end of the taker's session", taker.closed, taker.changed)
            print("round %d: the session ended after %.1f MB" % (again + 1, sent / 1e6), flush=True)
            self.assertLess(sent, MOST)
            self.wait("flush of the taker's routes", lambda: self.peers()[TAKER]["families"][V4]["received"] == 0)
            reasons = [body[:2] for _, kind, body in taker.messages if kind == NOTIFICATION and body != b"closed"]
            self.assertIn(reasons, ([OUT_OF_RESOURCES], []))  # a reset may overtake the NOTIFICATION
            peers = self.peers()
            self.assertEqual(peers[TAKER]["last_error"], "sent cease/out-of-resources")
            for a, speaker in innocent.items():
                self.assertFalse(speaker.closed(), (a, self.keel.logged()))
                self.assertEqual([peers[a][k] for k in ("state", "established_count", "last_error")], ["established", 1, ""])
                self.assertEqual(peers[a]["families"][V4]["accepted"], ROUTES + again)
                self.assertLess(peers[a]["memory_bytes"], 1 << 20)
            self.wait("end of the taker's memory", lambda: self.peers()[TAKER]["memory_bytes"] < 1 << 20)
            # the innocent peers are served
            second = list(innocent)[1]
            for a, speaker in innocent.items():
                speaker.say("80.%d.%d.0" % (again, list(innocent).index(a)), (INNOCENT[a],))
            self.wait("an innocent route at another peer", lambda: "80.%d.0.0/24" % again in innocent[second].table(), innocent[second].changed)
            self.wait("all new routes", lambda: all(self.peers()[a]["families"][V4]["accepted"] == ROUTES + again + 1 for a in INNOCENT))
        kinds = {a["kind"] for a in self.keel.call("system.info")["alarms"]}
        self.assertIn("memory", kinds)
        self.assertNotIn("rib", kinds)  # no change of any peer was lost


if __name__ == "__main__":
    keel_rig.main()
