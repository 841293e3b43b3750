#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keel-import -o: policies as policy text decide as the nodes of the same file do, on routes that are made of the values of their conditions. A real keeld
has both forms. Needs root (a network namespace); else the exit status is 77.

usage: test_import_text.py KEELD
"""
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

import keel_rig
from keel_rig import KEELD, KeelTest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "control", "import"))
sys.dont_write_bytecode = True
from keel_import.cli import DOCUMENT, POLICIES, translate  # noqa: E402

FILES = os.environ.get("KEEL_IMPORT_FILES", os.path.join(ROOT, "tests", "control", "import"))  # DIALECT-NAME
PROGRAM = os.path.join(ROOT, "scripts", "keel-import")
ROUTES = 25  # of each policy

BIRD = """router id 192.0.2.1;
define MINE = [ 10.0.0.0/8{16,24}, 2001:db8::/32+ ];
function small(int n) { if bgp_path ~ [= * n * =] then return false; return bgp_path.len < n || bgp_path.len = 5; }
function mark() { bgp_community.add((64512, 9)); if net.len > 24 then reject; }
filter f {
  if net ~ MINE && (bgp_origin = ORIGIN_IGP || bgp_community ~ [(64512, *)]) then {
    if bgp_path.len = 2 then bgp_local_pref = 7; else if bgp_path.first = 64513 then reject;
    bgp_community.delete([(64512, 1..5)]);
  } else {
    if bgp_path.len = 7 then reject;
    bgp_large_community.add((1, 2, 3));
  }
  case bgp_path.len { 1: bgp_med = 1; 2..3: { bgp_med = 2; accept; } 4, 5: bgp_med = 3; else: bgp_med = 4; }
  if small(4) then { bgp_local_pref = 9; if source = RTS_BGP then accept; }
  mark();
  if bgp_origin = ORIGIN_EGP then if bgp_path.len = 6 then reject; else bgp_path.prepend(64512);
  if !(net.len > 20 && bgp_path ~ [64513, 64514]) then accept;
  bgp_next_hop = 192.0.2.9;
  if bgp_path.last ~ [64513..64520] then reject; else accept;
}
protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; export where net ~ MINE && source = RTS_BGP; }; }
"""
FRR = """router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 route-map same in
ip prefix-list same seq 5 deny 10.1.0.0/16
ip prefix-list same seq 10 permit 10.0.0.0/8 le 24
bgp as-path access-list short deny _64514_
bgp as-path access-list short permit ^64513
bgp as-path access-list short permit _64515$
bgp community-list standard c permit 64512:1
bgp community-list standard c permit no-export
route-map same deny 5
 match as-path short
 match community c
route-map same permit 10
 match ip address prefix-list same
 set community 64512:7 additive
 on-match goto 40
route-map same permit 20
 match origin egp
 set as-path prepend last-as 1
 on-match next
route-map same permit 30
 match metric 5
 call low
route-map same permit 40
 match tag 3
 set local-preference 50
 on-match goto 60
route-map same deny 50
 match origin incomplete
route-map same permit 60
 set as-path prepend 64512 64512
route-map low permit 10
 match local-preference 50
 set community 1:1 2:2
route-map low deny 20
 match large-community missing
route-map low permit 30
 match metric 7
 set community 64512:1 3:3
 set comm-list c delete
route-map low permit 40
"""


def constants(value, found):
    """The texts and numbers of a document, by their keys."""
    for key, v in value.items() if isinstance(value, dict) else []:
        for element in v if isinstance(v, list) else [v]:
            if isinstance(element, dict):
                constants(element, found)
            else:
                found.setdefault(key, []).append(element)
    return found


class Text(KeelTest):
    def setUp(self):
        super().setUp()
        self.top = self.folder

    def documents(self, dialect, data):
        """The document with the policies as text and, by names with `n-` before them, as nodes; the names."""
        nodes, both = translate(dialect, "/nonexistent/file", data).document, translate(dialect, "/nonexistent/file", data, True)
        text, names = both.text, re.findall("^policy (\\S+) {$", both.text, re.M)
        for policy in nodes.get("route_policies", ()):
            policy["name"] = "n-" + policy["name"]
            for node in policy["nodes"]:
                if "call" in node:
                    node["call"] = "n-" + node["call"]
        document = {key: value for key, value in both.document.items() if key.endswith("_lists") or key in ("route_policies", "policy_files")}
        document["router"] = {"asn": 64512, "router_id": "192.0.2.1"}
        document.setdefault("route_policies", []).extend(nodes.get("route_policies", ()))
        return document, text, names

    @staticmethod
    def routes(r, document):
        """Routes that meet some of the conditions of the document."""
        found = constants(document, {})
        prefixes = [p for p in found.get("prefix", ()) if int(p.partition("/")[2]) > 0] + ["10.1.2.0/24", "2001:db8:1::/48"]
        paths = [" ".join(re.findall("[0-9]+", regex.replace("[0-9]", ""))[:4]) for regex in found.get("regex", ())]
        numbers = [str(n) for path in paths for n in path.split() if 0 < int(n) < 4294967295] + ["64513", "64514"]
        plain = [c for key in ("community", "add", "remove", "replace") for c in found.get(key, ()) if isinstance(c, str)]
        plain = [re.sub(r"-\d+", "", c.replace("*", "7")) if ":" in c else c for c in plain]
        while True:
            prefix = r.choice(prefixes)
            address, _, length = prefix.partition("/")
            longer = min(int(length) + r.choice((0, 0, 1, 8)), 128 if ":" in address else 32)
            some = [r.choice(plain) for _ in range(r.randint(0, 2))] if plain else []
            route = {"prefix": "%s/%d" % (address, longer), "as_path": " ".join(r.choice(numbers) for _ in range(r.randint(0, 8))),
                     "origin": r.choice(("igp", "egp", "incomplete")), "source": r.choice(("external", "internal", "static", "connected")),
                     "next_hop": r.choice(("192.0.2.1", "10.1.2.3")),
                     "communities": [c for c in some if not re.match("rt|soo", c) and c.count(":") < 2],
                     "large_communities": [c for c in some if re.fullmatch(r"\d+:\d+:\d+", c)], "ext_communities": [c for c in some if re.match("rt|soo", c)]}
            for key, name in (("local_pref", "ge"), ("med", "le"), ("tag", "tag")):
                values = [n for k in (key, name) for n in found.get(k, ()) if isinstance(n, int)]
                if r.random() < 0.7:
                    route[key] = r.choice(values + [5, 50, 100, 200])
            yield route

    def same(self, dialect, data):
        """Both forms of each policy decide alike; how many routes were permitted and denied."""
        document, text, names = self.documents(dialect, data)
        self.folder = tempfile.mkdtemp(dir=self.top)
        with open(os.path.join(self.folder, POLICIES), "w") as f:
            f.write(text)
        self.start(document)
        r, seen = random.Random(54), {"permit": 0, "deny": 0}
        routes = self.routes(r, document)
        for name in names:
            for _ in range(ROUTES):
                route = next(routes)
                answers = [self.keel.call("policy.test", {"policy": prefix + name, "route": route}) for prefix in ("", "n-")]
                self.assertEqual(*[(a["result"], a["route"]) for a in answers], (name, route, text))
                seen[answers[0]["result"]] += 1
        self.end()
        return seen

    def test_bird(self):
        seen = self.same("bird", BIRD.encode())
        self.assertGreater(min(seen.values()), 3, seen)

    def test_frr(self):
        seen = self.same("frr", FRR.encode())
        self.assertGreater(min(seen.values()), 3, seen)

    def test_files(self):
        for name in sorted(os.listdir(FILES)):
            with open(os.path.join(FILES, name), "rb") as f:
                data = f.read()
            if translate(name.split("-")[0], "/nonexistent/file", data, True).text:
                with self.subTest(name):
                    self.same(name.split("-")[0], data)


class Program(unittest.TestCase):
    def test_a_folder(self):
        with tempfile.TemporaryDirectory(prefix="keel-import-") as folder:
            path, out = os.path.join(folder, "frr.conf"), os.path.join(folder, "out")
            os.mkdir(out)
            with open(path, "w") as f:
                f.write(FRR)
            p = subprocess.run([PROGRAM, "-o", out, "frr", path], capture_output=True, text=True, timeout=300)
            self.assertEqual((p.returncode, p.stdout), (0, ""), p.stderr)
            self.assertEqual({name: os.stat(os.path.join(out, name)).st_mode & 0o777 for name in os.listdir(out)}, {DOCUMENT: 0o600, POLICIES: 0o600})
            check = subprocess.run([KEELD, "--no-dataplane", "--check", "-c", os.path.join(out, DOCUMENT)], capture_output=True, text=True, timeout=300)
            self.assertEqual((check.returncode, check.stderr), (0, ""))
            with open(os.path.join(out, POLICIES)) as f:
                text = f.read()
            self.assertIn("policy low {\n    if local_pref = 50 then {\n        delete communities;\n        add [(1, 1), (2, 2)];\n        accept;\n    }\n", text)
            self.assertIn("net ~ [10.0.0.0/8{8,24}]", text)
            for there, gone in ((POLICIES, DOCUMENT), (DOCUMENT, POLICIES)):  # no document may name the text of an earlier run
                if os.path.exists(os.path.join(out, gone)):
                    os.unlink(os.path.join(out, gone))
                again = subprocess.run([PROGRAM, "-o", out, "frr", path], capture_output=True, text=True, timeout=300)
                self.assertEqual((again.returncode, again.stderr.splitlines()[-1]), (1, "keel-import: %s: File exists" % os.path.join(out, there)))
                self.assertEqual(os.listdir(out), [there])
                os.rename(os.path.join(out, there), os.path.join(out, gone))


if __name__ == "__main__":
    keel_rig.main()
