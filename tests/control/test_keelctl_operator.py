#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Situations of an operator with keelctl: scripts that stop with a reason, invalid octets, a user without rights, old values in a diff, a family
derived from an address, host bits, commits without a change or with confirmation, tables on a terminal of 80 columns (needs root: else the exit
status is 77).

usage: test_keelctl_operator.py KEELCTL KEELD
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from keelctl_lab import KEELCTL, Pair, keelctl, on_terminal, run_tests

NOBODY = 65534
LONG = "2001:1db8:1111:2222:3333:4444:5555:6666/128"  # 43 characters, the maximum
ACCEPT = {"import_policy": "accept-all", "export_policy": "accept-all"}


class Usage(unittest.TestCase):
    def test_nul_is_bad_syntax(self):
        """Octets after a NUL are not dropped silently: the line is refused."""
        for text, error in (("system-view\n\0\nhelp\n", "line 2: a NUL octet at column 1\n"), ("help\0 me\n", "line 1: a NUL octet at column 5\n"),
                            ("# a comment\0\nhelp\n", "line 1: a NUL octet at column 12\n")):
            self.assertEqual(keelctl(stdin=text), (2, "", error))


class Operator(Pair):
    @classmethod
    def documents(cls):
        def side(i):
            return {"router": {"asn": 64512 + i, "router_id": cls.ADDRESSES[i]},
                    "bgp": {"networks": [{"prefix": p} for p in ("203.0.113.0/24", "2001:db8:ffff::/48", LONG, "2001:1db8:1111:2222:3333:4444:5555:6670/127")] if i else [],
                            "peers": [{"address": cls.ADDRESSES[1 - i], "asn": 64513 - i, "families": {"ipv4-unicast": ACCEPT}},
                                      {"address": "2001:db8::%d" % (2 - i), "asn": 64513 - i,
                                       "families": {"ipv4-unicast": ACCEPT, "ipv6-unicast": ACCEPT}},
                                      {"address": "2001:db8::99", "asn": 64702, "passive": True},
                                      {"address": "192.0.2.98", "asn": 64700, "passive": True},
                                      {"address": "192.0.2.99", "asn": 64701, "passive": True}]}}
        return [side(0), side(1)]

    @classmethod
    def complete(cls):
        peers = cls.peers()
        routes = cls.ctl("show route ipv6")[1]
        return all(peers.get(a, {}).get("state") == "established" for a in ("192.0.2.2", "2001:db8::2")) and \
            all("*> " + p in routes for p in (LONG, "2001:db8:ffff::/48"))

    def test_a_script_stops_with_the_reason(self):
        """A script stops at the first failed line, also when the command has no established peer."""
        status, out, err = keelctl(sock=self.sockets[0], stdin="show version\nrefresh bgp 192.0.2.99 import\nshow version\n")
        self.assertEqual((status, err), (1, "line 2: no session was refreshed: 192.0.2.99 is not-established\n"))
        self.assertEqual(out.count("keeld "), 1)
        status, out, err = self.ctl(["show version; refresh bgp 192.0.2.99 export; show version"])
        self.assertEqual((status, err), (1, "command 2: no session was refreshed: 192.0.2.99 is not-established\n"))
        self.assertEqual(out.count("keeld "), 1)
        status, _, err = keelctl(sock=self.sockets[0], stdin="\nreset bgp 64700\nshow version\n")
        self.assertEqual((status, err), (1, "line 2: no session was reset: 192.0.2.98 is not-established\n"))
        # A single established peer is enough.
        self.assertEqual(keelctl(sock=self.sockets[0], stdin="refresh bgp all import\nshow version\n")[::2], (0, ""))

    def test_commits_that_change_nothing_or_confirm(self):
        view = "system-view; bgp 64512; "
        nothing = r"^nothing to commit: the candidate is the running configuration, revision \d+\n"
        self.assertRegex(self.good("commit confirm 60"), nothing + "$")
        out = self.good([view + "group g; commit confirm 60"])
        waits = int(out.split()[1].rstrip(","))
        self.assertIn("rolled back in 60 s unless", out)
        self.assertRegex(self.good("commit comment again"), nothing + "confirmed: %d\n$" % waits)
        out = self.good([view + "undo group g; commit confirm 60"])
        waits = int(out.split()[1].rstrip(","))
        self.assertRegex(self.good([view + "group h; commit; undo group h; commit"]), r"^commit %d, revision \d+\n[^\n]+\nconfirmed: %d\n" %
                         (waits + 1, waits))
        self.assertNotIn("again", self.good("show history"))

    def test_diff_with_old_values(self):
        self.addCleanup(self.good, "discard")
        peers = json.loads(self.good("show configuration"))["bgp"]["peers"]
        self.good(["rpc", "config.edit", json.dumps({"patch": [
            {"op": "replace", "path": "/bgp/peers/1/families/ipv6-unicast/import_policy", "value": "deny-all"},
            {"op": "remove", "path": "/bgp/peers/3"},
            {"op": "add", "path": "/bgp/peers/3/password", "value": "first"},
            {"op": "add", "path": "/prefix_lists", "value": [{"name": "g", "entries": []}]}]})])
        self.assertEqual(self.good("show diff").splitlines(), [
            '~ peer 2001:db8::2: ipv6-unicast: route-policy import "accept-all" -> "deny-all"',
            "- peer 192.0.2.98 " + json.dumps(peers[3], separators=(",", ":")),
            '+ peer 192.0.2.99: password simple "***"',
            '+ ip-prefix [{"name":"g","entries":[]}]'])
        diff = json.loads(self.good("--json show diff"))
        self.assertEqual(diff["old"], ["accept-all", peers[3], None, None])
        self.assertEqual([sorted(op) for op in diff["diff"]], [["op", "path", "value"], ["op", "path"]] + 2 * [["op", "path", "value"]])
        # Both values of a password are masked.
        self.addCleanup(self.wait, "the routes", self.complete)  # after the rollback, which sends a ROUTE-REFRESH
        self.good("commit")
        self.addCleanup(self.good, ["rpc", "config.rollback", '{"to": 0}'])
        for change, expected in (({"op": "replace", "path": "/bgp/peers/3/password", "value": "second"}, '~ peer 192.0.2.99: password simple "***" -> "***"'),
                                 ({"op": "remove", "path": "/bgp/peers/3/password"}, '- peer 192.0.2.99: password simple "***"'),
                                 ({"op": "remove", "path": "/bgp/peers/3"},
                                  "- peer 192.0.2.99 " + json.dumps(dict(peers[4], password="***"), separators=(",", ":")))):
            self.good(["rpc", "config.edit", json.dumps({"patch": [change]})])
            self.assertEqual(self.good("show diff"), expected + "\n")
            self.good("discard")

    def test_tables_fit_a_terminal(self):
        """80 columns; after a long prefix, the columns continue on the next line below their titles."""
        out = self.narrow("show route ipv6")
        lines = out.splitlines()
        header = lines[1]
        at = lines.index("*> " + LONG)
        self.assertEqual(lines[at + 1].index("2001:db8::2"), header.index("Next hop"), out)
        self.assertEqual(lines[at + 1].index("2001:db8::2", 30), header.index("Peer"), out)
        self.assertTrue(lines[at + 1].endswith("  64513 i"), out)
        short = next(line for line in lines if line.startswith("*> 2001:db8:ffff::/48"))
        self.assertEqual(short.index("2001:db8::2"), header.index("Next hop"), out)
        for line in ("show bgp summary", "show bgp peer 2001:db8::2", "show refresh", "show rib", "show threads", "show jobs", "show history",
                     "show route", "show policy", "refresh bgp all import", "show jobs", "preview refresh bgp all export", "show version"):
            self.narrow(line)
        # Longer text continues on the next line.
        self.good(["system-view; bgp 64512; group wide; commit comment '%s'" % " ".join(["because of this"] * 20)])
        self.addCleanup(self.good, ["rpc", "config.rollback", '{"to": 0}'])
        out = self.narrow("show history")
        self.assertEqual(out.split().count("because"), 20, out)
        self.assertEqual({line.index("because") for line in out.splitlines() if line.lstrip().startswith("because")},
                         {out.splitlines()[0].index("Comment")}, out)
        # A pipe and a file get whole lines, also of the list of routes.
        lines = self.good("show history").splitlines()
        self.assertEqual([line.count("because of this") for line in lines if "because" in line], [20])
        lines = [line for line in self.good("show route ipv6").splitlines() if line.startswith("*> 2")]
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertRegex(line, r"^\*> \S+ +2001:db8::2 +2001:db8::2 +- +\S+ +64513 i$")
        # A wider terminal has wider tables.
        for columns, widths in ((60, range(60, 81)), (80, range(60, 81)), (200, range(180, 201))):
            status, out = on_terminal("show", "history", sock=self.sockets[0], env={"NO_COLOR": "1"}, columns=columns)
            self.assertEqual((status, out.split().count("because")), (0, 20), out)
            self.assertIn(max(len(line) for line in out.splitlines()), widths, out)

    def test_the_family_follows(self):
        """The family follows from a prefix or an address. For an IPv6 peer without ipv4-unicast it is ipv6-unicast."""
        for words in ("2001:db8:ffff::/48", "2001:db8:ffff::1", "2001:db8:ffff::/48 peer 2001:db8::2"):
            self.assertIn("2001:db8:ffff::/48, 1 path\n", self.good("show route " + words))
        routes = json.loads(self.good("--json show route peer 2001:db8::2"))["routes"]
        self.assertTrue(routes and all(":" in r["prefix"] for r in routes), routes)
        for line in ("refresh bgp 2001:db8::99 import", "reset bgp 2001:db8::99"):
            status, out, err = self.ctl(line)
            self.assertEqual((status, err), (1, ""), line)
            self.assertRegex(out, r"(?m)^2001:db8::99 +default +not-established")
        self.assertIn("readvertised", self.good("refresh bgp 2001:db8::2 export"))
        status, out, err = self.ctl("refresh bgp 2001:db8::98 import")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err.count("there is no peer 2001:db8::98"), 1)
        status, out, err = self.ctl("show route 203.0.113.7/24")
        self.assertEqual((status, out), (2, ""))
        self.assertIn('"203.0.113.7/24" has host bits (set beyond its length): expected 203.0.113.0/24', err)
        self.assertIn("host bits", self.ctl(["rpc", "rib.routes", '{"family": "ipv4-unicast", "view": "loc", "prefix": "203.0.113.7/24"}'])[2])

    def as_nobody(self, *words):
        """keelctl as a user with access only to the read-only socket (the other socket has mode 0660)."""
        p = subprocess.run([self.program, "--socket", self.sockets[0], *words], capture_output=True, text=True, timeout=300, user=NOBODY,
                           group=NOBODY, extra_groups=[])
        return p.returncode, p.stdout, p.stderr

    def test_a_user_without_rights(self):
        folder = tempfile.mkdtemp(prefix="keelctl-")  # build/ may be inaccessible for other users
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        os.chmod(self.dir, 0o755)
        self.program = shutil.copy(KEELCTL, folder)
        os.chmod(self.program, 0o755)
        status, out, err = self.as_nobody("show", "bgp", "summary")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("5 peers, 2 established", out)
        self.assertEqual(self.as_nobody("show", "route", "203.0.113.0/24")[::2], (0, ""))
        status, out, err = self.as_nobody("refresh", "bgp", "all", "import")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "keelctl: not permitted: %s: Permission denied; the read-only socket only shows\n" %
                         self.sockets[0])
        os.chmod(self.dir, 0o700)
        status, out, err = self.as_nobody("show", "version")
        self.assertEqual((status, out, err), (3, "", "keelctl: no daemon at %s: Permission denied\n" % self.sockets[0]))


if __name__ == "__main__":
    run_tests()
