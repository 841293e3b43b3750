#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Malformed UPDATEs: reports of bgp.faults, keelctl and the log of a real keeld (needs root: else the exit status is 77).

usage: test_faults.py KEELD KEELCTL
"""
import json
import re
import struct
import subprocess
import sys
import time
import unittest

KEELCTL = sys.argv.pop(2)

from keel_rig import KeelTest, THEM, UPDATE, main  # noqa: E402

DOCUMENT = {"router": {"asn": 64512, "router_id": "192.0.2.1"},
            "bgp": {"peers": [{"address": THEM, "asn": 64513, "passive": True,
                               "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}},
                              {"address": "192.0.2.50", "asn": 64999, "passive": True}]}}
AS_PATH = b"\x40\x02\x06\x02\x01" + struct.pack(">I", 64513)
NEXT_HOP = b"\x40\x03\x04\xc0\x00\x02\x02"
ORIGIN = b"\x40\x01\x01\x00"


def update(attributes, *seconds):
    """Body of an UPDATE that announces 10.SECOND.0.0/16 for each number."""
    return struct.pack(">HH", 0, len(attributes)) + attributes + b"".join(bytes([16, 10, n]) for n in seconds)


def whole(body):
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), UPDATE) + body


class Faults(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(DOCUMENT)
        self.speaker = self.speak()

    def faults(self):
        return self.keel.call("bgp.faults", {"peer": THEM})["faults"]

    def keelctl(self, *words):
        p = subprocess.run([KEELCTL, "--socket", self.keel.path, *words], capture_output=True, text=True, timeout=300)
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        if "--json" not in words:
            self.assertLessEqual(max(map(len, p.stdout.splitlines())), 80, p.stdout)
        return p.stdout

    def test_faulty_messages(self):
        self.assertEqual(self.faults(), [])
        self.assertEqual(self.keelctl("show", "bgp", "peer", THEM, "faults"), "no faulty messages\n")
        bodies = [update(b"\x40\x01\x01\x09" + AS_PATH + NEXT_HOP, 1, 2, 3), update(ORIGIN + NEXT_HOP, 4),
                  update(ORIGIN + AS_PATH + NEXT_HOP + b"\xc0\x08\x03abc", 5, 6)]
        before = time.time()
        for body in bodies:
            self.speaker.send(UPDATE, body)
        self.wait("the faults", lambda: len(self.faults()) == len(bodies))
        faults = self.faults()
        self.assertEqual([(f["family"], f["severity"], f["text"], f["prefixes"], bytes.fromhex(f["octets"])) for f in faults], [
            ("ipv4-unicast", "treat-as-withdraw", "origin: value 9, expected 0, 1 or 2", 3, whole(bodies[0])),
            ("ipv4-unicast", "treat-as-withdraw", "as-path is missing", 1, whole(bodies[1])),
            ("ipv4-unicast", "treat-as-withdraw", "communities: length 3, expected a multiple of 4, at least 4", 2, whole(bodies[2]))])
        self.assertTrue(all(before - 1 < f["time"] < time.time() + 1 for f in faults), faults)
        counters = {"malformed-origin": 3, "malformed-as-path": 1, "malformed-communities": 2}
        self.wait("the counters", lambda: self.keel.peer()["families"]["ipv4-unicast"]["refused"] == counters)
        out = self.keelctl("show", "bgp", "peer", THEM)
        shown = re.search(r"(?m)^    Refused        (.*\n(?:                   .*\n)*)", out).group(1)
        self.assertEqual({line.split()[1]: int(line.split()[0]) for line in shown.splitlines()}, counters)
        self.await_logged(r'update-error peer=192\.0\.2\.2 vrf=default family=ipv4-unicast prefix=10\.1\.0\.0/16 prefixes=3 '
                          r'treatment=treat-as-withdraw reason="origin: value 9, expected 0, 1 or 2"')
        out = self.keelctl("show", "bgp", "peer", THEM, "faults")
        self.assertRegex(out, r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  treat-as-withdraw, 3 prefixes of ipv4-unicast\n"
                              r"  origin: value 9, expected 0, 1 or 2\n  f{32}003402")
        self.assertEqual(json.loads(self.keelctl("--json", "show", "bgp", "peer", THEM, "fau"))["faults"], faults)
        # Faults outlive the session.
        self.speaker.close()
        self.wait("the end of the session", lambda: self.keel.peer()["state"] != "established")
        self.assertEqual(self.faults(), faults)

    def test_parameters(self):
        for params, code, path in (({}, -32602, "/peer"), ({"peer": 5}, -32602, "/peer"), ({"peer": "192.0.2.77"}, -32004, "/peer"),
                                   ({"peer": THEM, "vrf": "red"}, -32004, "/vrf")):
            error = self.keel.answer("bgp.faults", params)["error"]
            self.assertEqual((error["code"], error["data"]["path"]), (code, path), params)
        self.assertEqual(self.keel.call("bgp.faults", {"peer": "192.0.2.50"}), {"faults": []})

    def test_a_flood_does_not_fill_the_log(self):
        """A few lines, then the number of suppressed lines: at the end of a window, or of keeld."""
        for i in range(500):
            self.speaker.send(UPDATE, update(ORIGIN + NEXT_HOP, i % 256))
        self.wait("the last one", lambda: self.keel.peer()["updates_received"] == 500)
        self.assertEqual(len(self.faults()), 16)
        self.keel.stop()
        log = self.keel.log_text()
        lines = len(re.findall("update-error ", log))
        said = [int(n) for n in re.findall(r"update-errors-suppressed peer=192\.0\.2\.2 vrf=default count=(\d+)", log)]
        self.assertLessEqual(lines, 5 * (len(said) + 1))
        self.assertEqual(lines + sum(said), 500, log)
        self.keel.start()


if __name__ == "__main__":
    main()
