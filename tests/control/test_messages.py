#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""No message between keeld's threads is lost when malloc() fails: questions for next hops and their answers, news of the host, the end of a session.
Needs root (a network namespace); else the exit status is 77.

usage: test_messages.py KEELD LIBRARY (no_malloc.c)
"""
import os
import socket
import subprocess
import struct
import sys

import keel_rig
from keel_rig import THEM, US, UPDATE, V4, KeelTest

OTHER, LEAVING = "192.0.2.3", "192.0.2.50"
LIBRARY = sys.argv.pop(2)
HOPS = 40


class Messages(KeelTest):
    def say(self, speaker, network, hop):
        path = bytes([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1]) + struct.pack(">I", speaker.asn) + b"\x40\x03\x04" + socket.inet_aton(hop)
        speaker.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + bytes([24]) + socket.inet_aton(network)[:3])

    def fail(self, yes):
        with open(self.switch, "r+b") as f:
            f.write(b"\1" if yes else b"\0")

    def peer(self, address):
        return [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == address][0]

    def test_no_message_is_lost(self):
        self.switch = os.path.join(self.folder, "fails")
        with open(self.switch, "wb") as f:
            f.write(bytes(4096))
        os.environ.update(LD_PRELOAD=LIBRARY, NO_MALLOC=self.switch)
        try:
            self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"peers": [
                {"address": a, "asn": asn, "passive": True, "families": {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}}
                for a, asn in ((THEM, 64513), (OTHER, 64514), (LEAVING, 64515))]}})
        finally:
            del os.environ["LD_PRELOAD"], os.environ["NO_MALLOC"]
        self.addCleanup(self.fail, False)
        them, other, leaving = self.speak(), self.speak(address=OTHER, asn=64514), self.speak(address=LEAVING, asn=64515)
        # resolvable only with an address added later
        self.say(them, "20.1.0.0", "198.51.100.7")
        self.wait("the first routes", lambda: self.peer(THEM)["families"][V4]["received"] == 1)
        events = self.keel.notifications("session")
        self.fail(True)
        for i in range(HOPS):
            self.say(them, "20.0.%d.0" % i, "192.0.2.%d" % (100 + i))
        subprocess.run(["ip", "-n", self.namespace, "addr", "add", "198.51.100.1/24", "dev", "lo"], check=True)
        leaving.close()
        self.wait("all routes, read", lambda: self.peer(THEM)["families"][V4]["received"] == HOPS + 1)
        down = next(events)
        self.assertEqual({k: down[k] for k in ("event", "address")}, {"event": "down", "address": LEAVING})
        self.fail(False)
        want = {"20.0.%d.0/24" % i for i in range(HOPS)} | {"20.1.0.0/24"}
        self.wait("all routes at the other peer", lambda: other.table() == want, other.changed)
        self.assertNotIn("message-lost", self.keel.log_text())


if __name__ == "__main__":
    keel_rig.main()
