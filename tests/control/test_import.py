#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keel-import over files as they are, cut off and mutated: each line of the report has a verdict; the same text gives the same document; keeld accepts
the document. Time rises with the lines of a file, not with their square. The words of VRP have the keys that they have in keelctl.
test_keelctl_import.py has the meaning of the lines.

usage: test_import.py KEELD
"""
import gc
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "control", "import"))
sys.dont_write_bytecode = True
from keel_import import keys  # noqa: E402
from keel_import.cli import DOCUMENT, POLICIES, translate, written  # noqa: E402

KEELD = sys.argv[1]
FILES = os.path.join(ROOT, "tests", "control", "import")  # DIALECT-NAME
WORD = re.compile(rb"[^ \t\r\n;{}]+")
NUMBERS = (0, 1, 2, 5, 32, 33, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 10 ** 30)
MUTATIONS = 30  # of each file
CHECKED = 3  # of these, by keeld
# An include with the absolute name of a file reads that file.
PATH, READS_FILES = "/nonexistent/keel-import/file.conf", re.compile(rb'include\s*"?/')


def corpus():
    for name in sorted(os.listdir(FILES)):
        with open(os.path.join(FILES, name), "rb") as f:
            yield name.split("-")[0], name, f.read()


def replaced(r, text, new):
    """`text` with `new` in the place of one word."""
    words = list(WORD.finditer(text))
    m = r.choice(words) if words else None
    return text if m is None else text[:m.start()] + new + text[m.end():]


def mutated(r, data, others):
    """`data` with some changes of lines, words and octets. `others`: lines and words of files of the dialect."""
    lines = data.splitlines(keepends=True) or [b"\n"]
    for _ in range(r.randint(1, 5)):
        at, kind = r.randrange(len(lines)), r.randrange(7)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(at, r.choice(others))
        elif kind == 2:
            lines[at] = replaced(r, lines[at], r.choice(WORD.findall(r.choice(others)) or [b""]))
        elif kind == 3:
            lines[at] = replaced(r, lines[at], b"%d" % r.choice(NUMBERS))
        elif kind == 4:
            lines[at] = replaced(r, lines[at], b"")
        elif kind == 5:
            lines[at], lines[0] = lines[0], lines[at]
        else:
            octets = bytearray(lines[at])
            octets[r.randrange(len(octets))] = r.choice([*b" ;{}()[]!~=&|.,:/%\"'#\0\n\xe9", r.randrange(256)])
            lines[at] = bytes(octets) or b"\n"
    return b"".join(lines)


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="keel-import-")
        self.addCleanup(self.dir.cleanup)

    def translated(self, dialect, data):
        document, _, report, not_carried = translate(dialect, PATH, data)
        for line in report:
            self.assertRegex(line, r"\A[^\0-\x1f\x7f-\x9f]+: (done|changed: [^\0-\x1f\x7f-\x9f]+|not carried: [^\0-\x1f\x7f-\x9f]+)\n\Z")
        self.assertEqual(not_carried > 0, any(": not carried: " in line for line in report))
        text = written(document)
        self.assertEqual(json.loads(text), document)
        return document, report, text

    def accepted(self, dialect, data):
        """keeld accepts the document, with nodes and with policy text. The report asks for router.asn and router.router_id where the file has none."""
        for as_text in (False, True):
            document, text, _, _ = translate(dialect, PATH, data, as_text)
            document["router"].setdefault("asn", 64999)
            document["router"].setdefault("router_id", "192.0.2.255")
            for name, content in ((DOCUMENT, json.dumps(document)), (POLICIES, text)):
                with open(os.path.join(self.dir.name, name), "w") as f:
                    f.write(content)
            p = subprocess.run([KEELD, "--no-dataplane", "--check", "-c", os.path.join(self.dir.name, DOCUMENT)], capture_output=True, text=True, timeout=300)
            self.assertEqual((p.returncode, p.stderr), (0, ""), (data, text))

    def test_files(self):
        for dialect, name, data in corpus():
            with self.subTest(name):
                _, report, text = self.translated(dialect, data)
                again = self.translated(dialect, data)
                self.assertEqual((again[1], again[2]), (report, text))
                self.accepted(dialect, data)

    def test_files_that_end_early(self):
        for dialect, name, data in corpus():
            with self.subTest(name):
                for end in range(0, len(data), 37):
                    self.translated(dialect, data[:end])

    def test_mutations(self):
        lines = {}
        for dialect, _, data in corpus():
            lines.setdefault(dialect, []).extend(data.splitlines(keepends=True))
        r = random.Random(54)
        for dialect, name, data in corpus():
            with self.subTest(name):
                for n in range(MUTATIONS):
                    text = mutated(r, data, lines[dialect])
                    if READS_FILES.search(text):
                        continue
                    self.translated(dialect, text)
                    if n < CHECKED:
                        self.accepted(dialect, text)

    def node(self, dialect, text):
        """The first node of the only policy; None: it is left out."""
        nodes = self.translated(dialect, text.encode())[0]["route_policies"][0]["nodes"]
        return nodes[0] if nodes else None

    def test_conditions_are_not_lost(self):
        """Of lines without spaces before them, behind lines that are not known, of many words."""
        self.assertEqual(self.node("frr", "route-map m permit 10\ndescription x\nmatch metric 5\n")["match"], {"med": 5})
        self.assertIsNone(self.node("frr", "route-map m permit 10\nsuch a line\nmatch metric 5\n"))
        self.assertIsNone(self.node("frr", "route-map m permit 10\nsuch a line\n match metric 5\n"))
        self.assertEqual(self.node("vrp", "route-policy m permit node 10\ndescription x\nif-match cost 5\n")["match"], {"med": 5})
        self.assertIsNone(self.node("vrp", "route-policy m permit node 10\nsuch a line\nif-match cost 5\n"))
        numbers = " ".join("64512:%d" % i for i in range(100))
        self.assertEqual(len(self.node("frr", "route-map m permit 10\n set community %s\n" % numbers)["set"]["communities"]["replace"]), 100)

    def test_first_as_of_versions(self):
        peers = "router bgp 64512\n neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.3 remote-as 64513\n no neighbor 192.0.2.3 enforce-first-as\n"
        for version, checks in (("", [False, False]), ("frr version 9.1\n", [False, False]), ("frr version 10.2\n", [None, False])):
            document = self.translated("frr", (version + peers).encode())[0]
            self.assertEqual([p.get("enforce_first_as") for p in document["bgp"]["peers"]], checks)

    def test_keys_are_hidden(self):
        for dialect, text in (("frr", "key chain k\n key 1\n  key-string s3cret\ninterface e\n ip ospf message-digest-key 1 md5 s3cret\n"),
                              ("bird", 'define KEY = "s3cret";\nprotocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513;\n password\n "s3cret";\n}\n')):
            self.assertNotIn("s3cret", "".join(self.translated(dialect, text.encode())[1]))

    def test_deep_files(self):
        """Neither long conditions nor chains of calls end the program."""
        where = " || ".join("net.len = %d || bgp_path.len = %d" % (i % 33, i) for i in range(3000))
        self.translated("bird", ("protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import where %s; }; }" % where).encode())
        self.translated("bird", ("filter f { if %s net.len = 8 %s then accept; }" % (5000 * "(", 5000 * ")")).encode())
        self.translated("frr", "".join("route-map p%d permit 10\n call p%d\n" % (i, i + 1) for i in range(5000)).encode())


class Time(unittest.TestCase):
    @staticmethod
    def seconds(dialect, text):
        """CPU time of this process, the least of three."""
        found = []
        for _ in range(3):
            gc.collect()
            gc.disable()
            begin = time.process_time()
            for as_text in (False, True):
                written(translate(dialect, PATH, text.encode(), as_text).document)
            found.append(time.process_time() - begin)
            gc.enable()
        return min(found)

    def linear(self, dialect, text):
        """Five times the elements may take eight times as long; a square would take 25 times."""
        small, large = (self.seconds(dialect, text(n)) for n in (2000, 10000))
        self.assertLess(large / small, 8, "%.3f s and %.3f s" % (small, large))

    def test_route_maps(self):
        """As many lists, entries and jumps as nodes; the names of the second list are changed to one name."""
        self.linear("frr", lambda n: "router bgp 64512\n" + "".join(
            "ip prefix-list p%d permit 10.%d.%d.0/24\nbgp as-path access-list é-%d permit _%d_\nroute-map m permit %d\n match ip address prefix-list p%d\n"
            " match as-path é-%d\n on-match goto %d\nroute-map o permit %d\n call m\n" %
            (i, i >> 8, i & 255, i, i, i, i, i, n, i) for i in range(1, n + 1)))

    def test_neighbours_and_routes(self):
        self.linear("frr", lambda n: "router bgp 64512\n redistribute static\n" + "".join(
            " neighbor 10.%d.%d.1 remote-as %d\n neighbor 10.%d.%d.1 filter-list l%d in\n" % (i >> 8, i & 255, 64512 + i % 2, i >> 8, i & 255, i % 7)
            for i in range(n)) + "".join("ip route 11.%d.%d.0/24 10.%d.%d.1\n" % (i >> 8, i & 255, i >> 8, i & 255) for i in range(n)))

    def test_filters(self):
        self.linear("bird", lambda n: "filter f {\n" + "".join(
            " if net ~ [ 10.%d.%d.0/24 ] then { bgp_local_pref = %d; accept; }\n" % (i >> 8, i & 255, i) for i in range(n)) + "}\n")

    def test_entries_of_vrp(self):
        self.linear("vrp", lambda n: "".join(
            "ip ip-prefix p index %d permit 10.%d.%d.0 24\nroute-policy m permit node %d\n if-match tag %d\n apply cost 5\n" %
            (n - i, i >> 8, i & 255, i, i) for i in range(1, n)))


class Keys(unittest.TestCase):
    """Each line of keys.py sets its key, and has the verdict `done`."""
    FILES = {"VRP": "bgp 64512\n peer 192.0.2.2 as-number %d\n peer 192.0.2.2 %s\n", "FRR": "router bgp 64512\n neighbor 192.0.2.2 remote-as %d\n neighbor 192.0.2.2 %s\n",
             "BIRD": "protocol bgp a {\n local as 64512;\n neighbor 192.0.2.2 as %d;\n ipv4;\n %s;\n}\n"}

    @staticmethod
    def forms(line, key):
        """[(the line as typed, the value of its key)]"""
        words, _, value = line.rpartition(" ")
        if value == "TEXT":
            return [(words + ' "x"', "x")]
        number = keys.RANGES.get(key, (0, 0))[0] + 3
        if value == "NUMBER":
            return [("%s %d" % (words, number), number)]
        if value.startswith("["):
            return [("%s %d" % (words, number), number), (words, int(value[8:-1]))]
        return [(line, True)]

    def carried(self, dialect, asn, line, family):
        """The object with the key; None: the line is not carried."""
        document, _, report, _ = translate(dialect.lower(), PATH, (self.FILES[dialect] % (asn, line)).encode())
        peers = document["bgp"].get("peers")
        if not peers or not any(line in said and said.endswith(": done\n") for said in report):
            return None
        return peers[0]["families"]["ipv4-unicast"] if family else peers[0]

    def test_lines(self):
        tried = 0
        for dialect in self.FILES:
            for family in (False, True):
                for line, key, inside in getattr(keys, dialect + "_" + ("FAMILY" if family else "PEER"), ()):
                    for typed, value in self.forms(line, key):
                        # a key may be of external or of internal neighbours alone
                        objects = [o for o in (self.carried(dialect, asn, typed, family) for asn in (64513, 64512)) if o is not None]
                        found = [(o.get(inside, {}) if inside else o).get(key) for o in objects]
                        self.assertIn(value if key != "description" or dialect == "BIRD" else '"x"', found, (dialect, typed))
                        tried += 1
        self.assertGreater(tried, 40)


class Words(unittest.TestCase):
    """A word of VRP that both programs know sets one key. keelctl's table: control/cli/keelctl_edit_policy.c."""

    @staticmethod
    def rows(name, pattern):
        with open(os.path.join(ROOT, "control", "cli", name)) as f:
            return re.findall(pattern, f.read())

    @staticmethod
    def keys(lines, words):
        """The keys that the lines set, in a peer, its family, and a node of a policy; True if the line of the words is carried."""
        head = "bgp 64512\n peer 192.0.2.2 as-number 64513\n"
        document, _, report, _ = translate("vrp", PATH, (head + lines).encode())
        peer = document["bgp"]["peers"][0]
        node = (document.get("route_policies") or [{"nodes": [{}]}])[0]["nodes"][0]
        found = {**peer, **peer.get("timers", {}), **peer["families"].get("ipv4-unicast", {}), **node.get("match", {}), **node.get("set", {})}
        return set(found), not any(": not carried: " in line for line in report if words in line)

    def test_conditions_and_changes(self):
        rows = self.rows("keelctl_edit_policy.c", r'\{"([a-z -]+)", "([a-z_]+)", WORDS_(\w+)\}')
        values = {"NAMES": ("x",), "NUMBER": ("7",), "CHANGE": ("7",), "KEYWORD": ("igp", "valid", "static"), "COMMUNITIES": ("64512:1", "64512:1:1 additive"),
                  "PATH": ("64512 additive",), "NEXT_HOP": ("192.0.2.1", "2001:db8::1")}
        lists = ("ip ip-prefix x permit 10.0.0.0 8\nip as-path-filter x permit ^1_\nip community-filter basic x permit 1:1\n"
                 "ip large-community-filter basic x permit 1:1:1\nip extcommunity-filter basic x permit rt 1:1\n")
        known = 0
        for words, key, kind in rows:
            for verb in ("if-match", "apply"):
                for value in values[kind]:
                    found, carried = self.keys("%sroute-policy m deny node 10\n %s %s %s\n" % (lists, verb, words, value), words)
                    if carried:
                        self.assertIn(key, found, words)
                        known += 1
        self.assertGreater(known, 17)


if __name__ == "__main__":
    del sys.argv[1:]
    unittest.main()
