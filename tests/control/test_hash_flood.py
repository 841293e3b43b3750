#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A peer announces prefixes that collide under the fixed key of the tests: keeld draws its own key, so its searches stay short. Needs root (a
network namespace); else the exit status is 77.

usage: test_hash_flood.py KEELD HASH_FLOOD
"""
import socket
import struct
import subprocess
import sys

import keel_rig
from keel_rig import THEM, UPDATE, US, V4, KeelTest

FLOOD = sys.argv.pop()
COUNT, BOUND = 10000, 1024


class HashFlood(KeelTest):
    def test_prefixes_that_collide_under_a_known_key(self):
        prefixes = subprocess.run([FLOOD, str(COUNT)], check=True, capture_output=True, text=True).stdout.split()
        self.assertEqual(len(set(prefixes)), COUNT)
        peer = {"address": THEM, "asn": 64513, "passive": True, "families": {V4: {"import_policy": "accept-all"}}}
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"peers": [peer]}})
        them = self.speak()
        path = bytes([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1]) + struct.pack(">I", 64513) + b"\x40\x03\x04" + socket.inet_aton(THEM)
        nlri = [b"\x20" + socket.inet_aton(p.split("/")[0]) for p in prefixes]
        for i in range(0, COUNT, 500):
            them.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + b"".join(nlri[i:i + 500]))
        self.wait("all prefixes", lambda: self.keel.peer()["families"][V4]["accepted"] == COUNT)
        info = self.keel.call("system.info")
        print("longest searches: %s" % info["hash_probes"], flush=True)
        self.assertGreater(info["hash_probes"]["destinations"], 0)  # 10,000 entries in 16,384 slots
        self.assertLess(max(info["hash_probes"].values()), BOUND)
        self.assertEqual([a for a in info["alarms"] if a["kind"] == "hash-probe"], [])


if __name__ == "__main__":
    keel_rig.main()
