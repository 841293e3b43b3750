#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""mrt.dump: bgpdump reads from the file exactly the routes of rib.routes; a full disk ends the dump and no session. Needs root and bgpdump: else the
exit status is 77.

usage: test_mrt.py KEELD
"""
import os
import shutil
import subprocess
import sys

import keel_rig
from keel_rig import THEM, UPDATE, V4, V6, KeelTest, update_of

ROUTES = int(os.environ.get("ROUTES", 3000))
DOCUMENT = {
    "router": {"asn": 64512, "router_id": "192.0.2.1"},
    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "deny", "match": {"as_path_length": {"ge": 4}}},
                                                {"seq": 15, "action": "permit", "match": {"med": 666}, "set": {"next_hop": "discard"}},
                                                {"seq": 20, "action": "permit", "set": {"local_pref": 250, "communities": {"add": ["64512:9"]}}}]}],
    "bgp": {"networks": [{"prefix": "198.51.100.0/24"}, {"prefix": "2001:db8:51::/48"}],
            "peers": [{"address": a, "asn": asn, "passive": True, "families": {f: {"import_policy": "in", "export_policy": "accept-all"} for f in (V4, V6)}}
                      for a, asn in ((THEM, 64513), ("192.0.2.3", 64514))]}}


class Mrt(KeelTest):
    def setUp(self):
        super().setUp()
        self.disk = self.small_disk("64k")
        self.folder_of_files = self.disk if self._testMethodName == "test_a_full_disk" else self.folder
        self.start(dict(DOCUMENT, management={"output_dir": self.folder_of_files}))
        self.file = os.path.join(self.folder_of_files, "table.mrt")
        one, two = self.speak(), self.speak(address="192.0.2.3", asn=64514)
        for i in range(ROUTES):
            path = (64513, 4200000000, 65000 + i % 7)
            one.send(UPDATE, update_of(V4, "192.0.2.99", path, bytes([24, 20, i >> 8, i & 255])))
            if i % 3 == 0:
                two.send(UPDATE, update_of(V4, "192.0.2.98", (64514,), bytes([24, 20, i >> 8, i & 255])))
        two.send(UPDATE, update_of(V4, "192.0.2.98", (64514, 1, 2, 3), bytes([8, 21])))  # refused
        one.send(UPDATE, update_of(V4, "192.0.2.99", (64513,), bytes([0])))
        one.send(UPDATE, update_of(V4, "192.0.2.99", (64513, 9), bytes([32, 22, 0, 0, 1]), b"\x80\4\4" + (666).to_bytes(4, "big")))
        one.send(UPDATE, update_of(V6, "2001:db8::9", (64513, 7), bytes([32, 0x20, 1, 0x0d, 0xb9])))
        want = ROUTES + (ROUTES + 2) // 3 + 5
        self.wait("the routes", lambda: len(self.routes()) == want)

    def routes(self):
        """{(prefix, peer, AS path, origin, next hop, LOCAL_PREF, MED, communities)} of rib.routes."""
        found = set()
        for family in (V4, V6):
            params = {"family": family, "view": "loc", "limit": 10000}
            while True:
                page = self.keel.call("rib.routes", params)
                for r in page["routes"]:
                    found.add((r["prefix"], r["peer"] or "0.0.0.0", r.get("as_path", ""), r["origin"],
                               "0.0.0.0" if r.get("next_hop") == "discard" else r.get("next_hop"), r.get("local_pref", 0), r.get("med", 0),
                               " ".join(r.get("communities", []))))
                if "next" not in page:
                    break
                params["cursor"] = page["next"]
        return found

    def dumped(self):
        out = subprocess.run(["bgpdump", "-m", self.file], capture_output=True, text=True, check=True, timeout=keel_rig.WAIT_S)
        self.assertNotIn("error", out.stderr.lower())
        found = []
        for line in out.stdout.splitlines():
            w = line.split("|")
            own = w[3] == "0.0.0.0"
            if own:
                self.assertEqual(w[8], "::" if ":" in w[5] else "0.0.0.0")  # as bgpd; RFC 6396 has no words for own routes
            found.append((w[5], w[3], w[6], w[7].lower(), None if own else w[8], int(w[9]), int(w[10]), w[11].strip()))
        return found

    def test_bgpdump_reads_the_tables(self):
        answer = self.keel.call("mrt.dump", {"file": self.file})
        self.assertNotIn("file_error", answer)
        dumped, want = self.dumped(), self.routes()
        self.assertEqual(len(dumped), len(set(dumped)))
        if any(r[1] == "0.0.0.0" for r in want):
            want = {(r[:4] + (None,) + r[5:]) if r[1] == "0.0.0.0" else r for r in want}
        self.assertEqual(set(dumped) - want, set())
        self.assertEqual(want - set(dumped), set())
        self.assertEqual((answer["routes"], answer["left_out"], answer["octets"]), (len(want), 0, os.stat(self.file).st_size))
        self.assertEqual(answer["prefixes"], len({r[0] for r in want}))

    def test_keelbench_reads_the_tables(self):
        """By its engine `feed`, where the build has it: all prefixes with their origins, in both families."""
        feed = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(keel_rig.KEELD))), "tests", "bench", "feed")
        if not os.path.exists(feed):
            self.skipTest("no " + feed)
        self.keel.call("mrt.dump", {"file": self.file})
        best = {}
        for r in self.routes():
            best.setdefault(r[0], set()).add(int(r[2].split()[-1]) if r[2] else 0)
        for option, colon in ((), False), (("--ipv6",), True):
            listing = os.path.join(self.folder, "listing")
            subprocess.run([feed, *option, "--mrt", self.file, "--list", listing], check=True, timeout=keel_rig.WAIT_S)
            with open(listing) as f:
                listed = {line.split()[0]: int(line.split()[1]) for line in f}
            self.assertEqual(set(listed), {p for p in best if (":" in p) == colon})
            self.assertEqual([p for p, origin in listed.items() if origin not in best[p]], [])

    def test_faults(self):
        outside = "is not in the output directory (management.output_dir)"
        for file, reason in ((self.folder + "/disk", "exists"), ("disk", "exists"), (self.folder + "/no/folder", outside), (self.keel.state + "/audit.log", outside),
                             ("../table.mrt", outside), (self.folder + "/../table.mrt", outside), ("..", "names a folder"), (self.folder + "/", "names a folder")):
            error = self.keel.answer("mrt.dump", {"file": file})["error"]
            self.assertEqual(error["code"], -32602)
            self.assertIn(reason, error["data"]["reason"])
        self.assertEqual(self.keel.call("mrt.dump", {"file": "table.mrt"})["file"], self.file)
        self.assertIn("exists", self.keel.answer("mrt.dump", {"file": self.file})["error"]["data"]["reason"])

    def test_a_full_disk(self):
        answer = self.keel.call("mrt.dump", {"file": self.disk + "/table.mrt"})
        self.assertEqual(answer["file_error"], "No space left on device")
        self.assertEqual([p["established_count"] for p in self.keel.call("bgp.peers")["peers"]], [1, 1])
        self.assertEqual([p["state"] for p in self.keel.call("bgp.peers")["peers"]], ["established"] * 2)
        subprocess.run(["mount", "-o", "remount,size=64m", self.disk], check=True)
        self.assertNotIn("file_error", self.keel.call("mrt.dump", {"file": self.disk + "/second.mrt"}))


if __name__ == "__main__":
    if shutil.which("bgpdump") is None:
        print("bgpdump is missing")
        sys.exit(77)
    keel_rig.main()
