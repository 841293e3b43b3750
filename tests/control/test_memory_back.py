#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory after a withdrawal: a peer announces 600,000 routes, which another peer receives. When the routes are withdrawn, and when the session is lost,
resident memory falls to less than a quarter of the growth by the load, as soon as the allocator returns freed pages (about ten seconds). Against a
real keeld. Needs root (a network namespace); else the exit status is 77.

usage: test_memory_back.py KEELD
"""
import os
import socket
import struct

import keel_rig
from keel_rig import UPDATE, US, V4, KeelTest, Speaker

FEEDER, RECEIVER = ("192.0.2.2", 64513), ("192.0.2.3", 64514)
ROUTES, PER_UPDATE = 600000, 100
PAGE = os.sysconf("SC_PAGE_SIZE")


class Quiet(Speaker):
    """Keeps no UPDATEs."""

    def note(self, kind, body):
        if kind != UPDATE:
            super().note(kind, body)


def nlri(update):
    """/28 prefixes in 20.0.0.0/8 and above."""
    return b"".join(bytes([28]) + struct.pack(">I", 0x14000000 + ((update * PER_UPDATE + i) << 4)) for i in range(PER_UPDATE))


class Memory(KeelTest):
    def peer(self, address):
        return {p["address"]: p for p in self.keel.call("bgp.peers")["peers"]}[address]["families"][V4]

    def resident(self):
        with open("/proc/%d/statm" % self.keel.process.pid) as f:
            return int(f.read().split()[1]) * PAGE

    def connect(self, address, asn):
        for _ in range(100):
            s = Quiet(self.namespace, address=address, asn=asn)
            self.addCleanup(s.close)
            if s.established():
                return s
        self.fail("no session with %s" % address)

    def load(self, speaker):
        for u in range(ROUTES // PER_UPDATE):
            path = bytes([0x40, 1, 1, 0, 0x40, 2, 10, 2, 2]) + struct.pack(">II", speaker.asn, 100000 + u) + b"\x40\x03\x04" + socket.inet_aton(speaker.address)
            speaker.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + nlri(u))
        self.wait("all routes at the receiver", lambda: self.peer(RECEIVER[0])["advertised"] == ROUTES)
        return self.resident()

    def withdraw(self, speaker):
        for u in range(ROUTES // PER_UPDATE):
            octets = nlri(u)
            speaker.send(UPDATE, struct.pack(">H", len(octets)) + octets + b"\0\0")

    def test_memory_comes_back(self):
        families = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"next_hop_tracking": False, "peers": [
                        {"address": a, "asn": asn, "passive": True, "families": families, "timers": {"idle_hold_s": 1}} for a, asn in (FEEDER, RECEIVER)]}})
        self.connect(*RECEIVER)
        speaker = self.connect(*FEEDER)
        empty = self.resident()
        for way, leave in ("withdrawal", lambda: self.withdraw(speaker)), ("lost session", speaker.close):
            full = self.load(speaker) - empty
            self.assertGreater(full, 24 * ROUTES)
            leave()
            self.wait("table without routes", lambda: self.peer(FEEDER[0])["received"] == self.peer(RECEIVER[0])["advertised"] == 0)
            self.wait("memory after the " + way, lambda: self.resident() - empty < full // 4)
            print("%s: %.1f MB grown by the load, %.1f MB left" % (way, full / 1e6, (self.resident() - empty) / 1e6), flush=True)


if __name__ == "__main__":
    keel_rig.main()
