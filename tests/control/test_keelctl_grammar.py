#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every command line of the operator's documents and of keelctl(1), with all alternatives of braces and brackets expanded, in the shell and in
one-shot form against a real keeld; a line with a missing, extra or wrong word gets a message at the faulty word; and the shell: prompts, `?`,
completion, the confirmation of reset, history, loss of the daemon (needs root: else the exit status is 77).

usage: test_keelctl_grammar.py KEELCTL KEELD
"""
import glob
import json
import os
import re
import socket
import stat
import threading
import unittest

from keelctl_lab import Pair, Shell, keelctl, run_tests
from operator_lines import DOCUMENTS, KNOWN, OWN, SEEDS, documents, expand, lines_of

NAMES = {"transit", "red", "from-transit"}
RESERVED = {"all", "external", "internal", "group", "import", "export", "slow-peer"}
ENTER = {"user": [], "system": ["system-view"], "bgp": ["system-view", "bgp 64512"],
         "family": ["system-view", "bgp 64512", "ipv4-family unicast"]}
NOBODY = "no (peer|VRF|VPN instance|group)\\b[^(/]*\n?$"
FAULT = re.compile(r'(?:^|: )(word \d+|expected .* after )', re.M)


def view_of(line):
    if line[0] in ("refresh", "reset", "system-view"):
        return "user"
    if line[0] in ("bgp", "commit"):
        return "system"
    return "family" if "keep-all-routes" in line else "bgp"


def matches_nobody(line):
    """A VPN instance that does not exist, or a slow peer while no peer is slow."""
    return "vpn-instance" in line or "slow-peer" in line


def prefix_fits(line, words):
    """True if `words` can replace the words of `line`: a name may stand for a name."""
    return len(words) <= len(line) and all(
        a == b or (a in NAMES and re.fullmatch(r"[A-Za-z][\w.-]*", b) and b not in RESERVED) for a, b in zip(line, words))


def first_fault(lines, words):
    """None if `words` is one of the lines; else the position, from 1, of the first word that fits no line (after the last word if all fit)."""
    for n in range(1, len(words) + 1):
        if not any(prefix_fits(line, words[:n]) for line in lines):
            return n
    return None if any(len(line) == len(words) and prefix_fits(line, words) for line in lines) else len(words) + 1


def mutations(line):
    for i in range(len(line)):
        yield line[:i] + line[i + 1:]
        yield line[:i] + ["%x"] + line[i + 1:]
        yield line[:i] + ["%x"] + line[i:]
    yield line + ["%x"]


def points_at(message, words, at):
    """True if the message names the word at the place, and `^` is below the word."""
    line, column = " ".join(words), len(" ".join(words[:at - 1])) + (at > 1)
    if "%s\n%s^\n" % (line, column * " ") not in message.replace("\r", ""):
        return False
    if at > len(words):
        return re.search(r'expected .+ after "%s"' % re.escape(" ".join(words)), message)
    return re.search(r'word %d "%s"' % (at, re.escape(words[at - 1])), message)


class Documents(unittest.TestCase):
    def test_the_list_here_is_that_of_the_documents(self):
        if not glob.glob(SEEDS):
            self.skipTest("the documents are not there")
        self.assertEqual(documents(), DOCUMENTS)

    def test_expansion(self):
        self.assertEqual([" ".join(w) for w in expand("a [ b | c { d | e } ] f")], ["a f", "a b f", "a c d f", "a c e f"])
        self.assertEqual(len(lines_of(DOCUMENTS)), 71)


class Lines(Pair):
    """The lines against a daemon with a session for every scope."""

    @classmethod
    def documents(cls):
        def side(i):
            families = {f: {"import_policy": "from-transit", "export_policy": "accept-all"}
                        for f in ("ipv4-unicast", "ipv6-unicast", "vpnv4-unicast", "vpnv6-unicast")}
            peers = [{"address": cls.ADDRESSES[1 - i], "group": "transit"}, {"address": "2001:db8::%d" % (2 - i), "group": "transit"},
                     {"address": "192.0.2.98", "asn": 64512 + i, "passive": True, "families": families}]
            return {"router": {"asn": 64512 + i, "router_id": cls.ADDRESSES[i]}, "management": {"hostname": "core-7"} if i else {},
                    "route_policies": [{"name": "from-transit", "nodes": [{"seq": 10, "action": "permit", "match": {"med": 5}, "set": {"med": 6}},
                                                                          {"seq": 20, "action": "permit", "match": {}}]}],
                    "bgp": {"groups": [{"name": "transit", "asn": 64513 - i, "families": families}], "peers": peers,
                            "networks": [{"prefix": "203.0.113.0/24"}]}}
        return [side(0), side(1)]

    @classmethod
    def complete(cls):
        peers = cls.peers()
        return all(peers.get(a, {}).get("state") == "established" for a in ("192.0.2.2", "2001:db8::2"))

    def shell(self):
        s = Shell(self.sockets[0], self.dir)
        self.addCleanup(s.end)
        return s

    def enter(self, shell, view):
        shell.line("discard")
        for line in (["return"] if shell.line("")[1] != "<keel>" else []) + ENTER[view]:
            self.assertEqual(shell.line(line)[0], "", line)

    def candidate(self):
        return json.loads(self.good("--json show candidate"))["document"]["bgp"]

    def test_documents_one_shot(self):
        """Accepted as one command with its views; lines for VPN instances and slow-peer find nobody."""
        for line in lines_of(DOCUMENTS):
            text = " ".join(line)
            if view_of(line) == "user":
                status, out, err = self.ctl(line)
            else:
                status, out, err = self.ctl(["; ".join(ENTER[view_of(line)] + [text])])
                self.good("discard")
            if matches_nobody(line):
                self.assertEqual((status, out), (1, ""), text)
                self.assertRegex(err, NOBODY, text)
                words = line if view_of(line) == "user" else ["; ".join(ENTER[view_of(line)] + [text])]
                self.assertIn("(-32004)", self.ctl(["--json"] + words)[2], text)
                self.good("discard")
            else:
                self.assertEqual(err, "", text)
                self.assertIn(status, (0, 1), text)

    def test_documents_on_standard_input(self):
        """The two procedures of the documents, whole."""
        text = "system-view\nbgp 64512\npeer 192.0.2.2 capability-advertise route-refresh\ncommit\nreturn\nrefresh bgp ipv6 all export\n"
        status, out, err = keelctl(sock=self.sockets[0], stdin=text)
        self.assertIn(status, (0, 1))
        self.assertEqual(err, "")
        self.assertRegex(out, r"(?m)^commit \d+, revision \d+$")

    def test_own_one_shot(self):
        for view, templates in OWN.items():
            for line in lines_of(templates):
                if line[:2] == ["reset", "bgp"] and not matches_nobody(line):
                    continue  # at once: the shell, below, asks first
                status, _, err = self.ctl(line) if view == "user" else self.ctl(["; ".join(ENTER[view] + [" ".join(line)])])
                self.assertNotEqual(status, 2, (line, err))
                self.assertNotRegex(err, FAULT, line)
                if matches_nobody(line):
                    self.assertRegex(err, NOBODY, line)
                    self.assertIn("(-32004)", self.ctl(["--json"] + (line if view == "user" else ["; ".join(ENTER[view] + [" ".join(line)])]))[2], line)
                else:
                    self.assertNotRegex(err, NOBODY, line)
                self.good("discard")

    def test_all_lines_in_the_shell(self):
        shell = self.shell()
        for line in lines_of(DOCUMENTS) + [w for t in OWN.values() for w in lines_of(t)]:
            view = next((v for v, t in OWN.items() if line in lines_of(t)), None) or view_of(line)
            self.enter(shell, view)
            said, prompt = shell.line(" ".join(line), r"(?:(?:^|\n)(?:<keel>|\[[~*]keel[^\]\n]*\])|[^\n]*\[y/n\]) $")
            if prompt.endswith("[y/n]"):
                said, prompt = shell.line("n")
                self.assertIn("nothing was reset", said)
            self.assertNotRegex(said, FAULT, line)
            if matches_nobody(line):
                self.assertRegex(said, NOBODY, line)
            else:
                self.assertNotRegex(said, NOBODY, line)
        shell.line("discard")

    def test_wrong_lines(self):
        """A word dropped, replaced, or inserted: the message points at the first unexpected word."""
        shell, count = self.shell(), 0
        for view, templates in OWN.items():
            lines = lines_of(templates)
            known = lines + [["quit"], ["return"], ["commit"], ["system-view"]] + lines_of(KNOWN.get(view, []))
            self.enter(shell, view)
            for words in {tuple(m): m for line in lines for m in mutations(line)}.values():
                at = first_fault(known, words) if words else None
                if at is None or words[:1] == ["undo"] and len(words) == 1:
                    continue  # still a valid line
                said, _ = shell.line(" ".join(words))
                self.assertTrue(points_at(said, words, at), (view, words, at, said))
                count += 1
            shell.line("discard")
        self.assertGreater(count, 1500)

    def test_wrong_lines_one_shot(self):
        for words in ("refresh bgp extenal import", "reset bgp vpnv4 slow-pear", "refresh bgp vpn-instance red all import"):
            words = words.split()
            status, out, err = self.ctl(words)
            self.assertEqual((status, out), (2, ""))
            self.assertTrue(points_at(err, words, first_fault(lines_of(OWN["user"]), words)), err)
        status, _, err = keelctl(sock=self.sockets[0], stdin="show version\n\nsystem-view\nbgp 64512\npeer 192.0.2.2 keep-all-routes\ncommit\n")
        self.assertEqual(status, 2)
        self.assertRegex(err, r'^peer 192.0.2.2 keep-all-routes\n {15}\^\nline 5: word 3 "keep-all-routes": expected as-number, group, enable, description, [^\n]+\n$')

    def test_another_as(self):
        status, out, err = self.ctl(["system-view; bgp 0.64513"])
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, "64512.*64513")
        self.assertEqual(self.ctl(["system-view; bgp 0.64512"])[0], 0)

    def test_edits(self):
        """The effect of the lines on the candidate, and their reversal by undo."""
        before = self.candidate()
        bgp, v4 = "system-view; bgp 64512; ", "system-view; bgp 64512; ipv4-family unicast; "
        self.good([bgp + "peer 192.0.2.7 as-number 1.10; peer 192.0.2.7 group transit; peer transit capability-advertise route-refresh; group g"])
        edited = self.candidate()
        self.assertEqual(edited["peers"][3], {"address": "192.0.2.7", "asn": 65546, "group": "transit"})
        self.assertEqual(edited["groups"][0]["capabilities"], {"route_refresh": True})
        self.assertEqual(edited["groups"][1], {"name": "g"})
        self.good([bgp + "undo peer transit capability-advertise route-refresh"])
        self.assertEqual(self.candidate()["groups"][0]["capabilities"], {"route_refresh": False})
        self.good([v4 + "peer 192.0.2.98 public-as-only; undo peer 192.0.2.98 public-as-only; peer 192.0.2.98 keep-all-routes; peer 192.0.2.98 route-policy accept-all import; peer transit keep-all-routes; "
                        "undo peer 192.0.2.7 keep-all-routes; undo peer transit route-policy accept-all export; undo peer 192.0.2.98 enable; "
                        "peer transit public-as-only; undo peer 192.0.2.7 public-as-only"])
        edited = self.candidate()
        self.assertEqual(edited["peers"][2]["families"]["ipv4-unicast"], {"import_policy": "accept-all", "export_policy": "accept-all",
                                                                         "keep_all_routes": True, "enabled": False})
        self.assertEqual(edited["peers"][3]["families"], {"ipv4-unicast": {"keep_all_routes": False, "remove_private_as": False}})
        self.assertEqual(edited["groups"][0]["families"]["ipv4-unicast"], {"import_policy": "from-transit", "keep_all_routes": True, "remove_private_as": True})
        self.good([bgp + "undo peer 192.0.2.7 group transit; undo peer 192.0.2.7 as-number 65546; undo group g"])
        self.assertEqual(len(self.candidate()["peers"]), 3)
        self.good("discard")
        self.assertEqual(self.candidate(), before)

    def test_a_family_keeps_the_one_that_goes_without_saying(self):
        """A peer without `families` has the family of its address, also when another family is added."""
        v6 = "system-view; bgp 64512; peer 192.0.2.7 as-number 7; ipv6-family unicast; peer 192.0.2.7 %s"
        self.good([v6 % "enable"])
        self.assertEqual(self.candidate()["peers"][3]["families"], {"ipv4-unicast": {}, "ipv6-unicast": {}})
        self.good("discard")
        status, _, err = self.ctl([v6 % "keep-all-routes"])
        self.assertEqual((status, "ipv6-unicast is not enabled for 192.0.2.7" in err), (0, True))
        self.assertEqual(self.candidate()["peers"][3]["families"],
                         {"ipv4-unicast": {}, "ipv6-unicast": {"enabled": False, "keep_all_routes": True}})
        self.good("discard")

    def test_edits_refused(self):
        v4 = "ipv4-family unicast; "
        for line, text in (("peer 192.0.2.55 enable", "there is no peer 192.0.2.55"), ("peer nobody enable", 'there is no group "nobody"'),
                           ("peer 192.0.2.2 group nobody", 'there is no group "nobody"'), ("undo peer 192.0.2.98 as-number 7", "64512, not 7"),
                           ("undo peer 192.0.2.98 group transit", "is not in group"), ("peer transit group transit", "is a group"),
                           (v4 + "undo peer 192.0.2.98 route-policy accept-all import", '"from-transit", not "accept-all"'),
                           (v4 + "undo peer 192.0.2.2 route-policy from-transit import", 'from its group "transit"')):
            status, _, err = self.ctl(["system-view; bgp 64512; " + line])
            self.assertEqual(status, 1, line)
            self.assertIn(text, err)
        self.assertEqual(self.good("show diff"), "the candidate has no edits\n")

    def test_preview_and_commit(self):
        self.wait("the sessions", self.complete)
        self.good(["system-view; bgp 64512; ipv4-family unicast; peer 192.0.2.98 route-policy accept-all import"])
        self.assertRegex(self.good("show diff"), r'(?m)^~ peer 192.0.2.98: ipv4-unicast: route-policy import "from-transit" -> "accept-all"$')
        self.assertRegex(self.narrow("preview"), r"(?m)^192\.0\.2\.98 +default +ipv4-unicast +import ")
        self.assertIn("peers", json.loads(self.good("--json preview")))
        out, _, published = self.good(["commit comment \"a reason\" confirm 600"]).partition("published:\n")
        self.assertEqual(published, '~ peer 192.0.2.98: ipv4-unicast: route-policy import "from-transit" -> "accept-all"\n')
        self.assertRegex(out, r"(?m)^commit \d+, revision \d+\n")
        self.assertIn("rolled back in 600 s", out)
        self.good("confirm")
        out = self.narrow("show history")
        self.assertRegex(out, r"(?m)^ +\d+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +root +a reason$")
        back = json.loads(self.good("--json show history"))["commits"][-2]["id"]
        self.assertRegex(self.good("rollback %d" % back), r"^commit \d+, ")
        status, _, err = self.ctl("confirm")
        self.assertEqual(status, 1, err)

    def test_shows(self):
        out = self.narrow("show policy")
        self.assertRegex(out, r"(?m)^from-transit\n +10  permit\n +if +med 5\n +set +med 6\n +20  permit  everything\n")
        self.assertIn("used by group transit, ipv6-unicast import", out)
        self.assertEqual(json.loads(self.good("--json show policy from-transit"))["document"]["name"], "from-transit")
        status, _, err = self.ctl("show policy nobody")
        self.assertEqual((status, err), (1, 'keelctl: there is no policy "nobody"\n'))
        self.assertRegex(self.narrow("show refresh"), r"(?m)^192\.0\.2\.2 +ipv4-unicast +no +\d+ ")
        self.assertEqual(set(json.loads(self.good("--json show refresh"))), {"peers", "jobs"})
        status, _, err = self.ctl("show route peer 192.0.2.2 received")
        self.assertEqual((status, err), (1, "keelctl: Routes are not kept\n"))
        for line in ("show bgp summary", "show rib", "show jobs", "show diff", "show history", "show configuration", "show version",
                     "show bgp peer 192.0.2.2", "preview refresh bgp all import"):
            json.loads(self.good("--json " + line))

    def test_prompts(self):
        shell = self.shell()
        for line, prompt in (("", "<keel>"), ("system-view", "[~keel]"), ("bgp 64512", "[~keel-bgp]"), ("ipv4-family unicast", "[~keel-bgp-af-ipv4]"),
                             ("quit", "[~keel-bgp]"), ("ipv6-family unicast", "[~keel-bgp-af-ipv6]"), ("ipv4-family vpnv4", "[~keel-bgp-af-vpnv4]"),
                             ("quit", "[~keel-bgp]"), ("peer 192.0.2.98 capability-advertise route-refresh", "[*keel-bgp]"), ("quit", "[*keel]"),
                             ("discard", "[~keel]"), ("quit", "<keel>"), ("system-view", "[~keel]"), ("bgp 64512", "[~keel-bgp]"),
                             ("return", "<keel>")):
            self.assertEqual(shell.line(line)[1], prompt, line)
        shell.type("quit\n")
        self.assertEqual(shell.end(keys=""), 0)

    def test_the_prompt_names_the_router(self):
        """management.hostname of the second daemon"""
        shell = Shell(self.sockets[1], self.dir, host=b"edge-1", name="core-7")
        self.addCleanup(shell.end)
        shell.keys("system-view\n", r"\n\[~core-7\] $")

    def test_the_prompt_names_the_host(self):
        shell = Shell(self.sockets[0], self.dir, host=b"edge-1.example.net")
        self.addCleanup(shell.end)
        shell.keys("system-view\n", r"\n\[~edge-1\.example\.net\] $")
        shell.keys("bgp 64512\n", r"\n\[~edge-1\.example\.net-bgp\] $")
        shell.keys("return\n", r"\n<edge-1\.example\.net> $")
        long = Shell(self.sockets[0], self.dir, host=64 * b"h")
        self.addCleanup(long.end)
        long.keys("system-view; route-policy %s permit node 4294967295\n" % (63 * "p"), r"\n\[\*%s-route-policy-%s-4294967295\] $" % (64 * "h", 63 * "p"))
        long.keys("discard\n", r"\n\[~h+-route-policy-p+-4294967295\] $")

    def test_help(self):
        shell = self.shell()
        said = shell.keys("?", r"help +[^\n]+\n<keel> $")
        for word in ("refresh", "reset", "show", "display", "system-view", "commit", "quit"):
            self.assertRegex(said, r"(?m)^  %s +\S" % word)
        said = shell.keys("refresh bgp ?", r"<keel> refresh bgp $")
        for word in ("all", "external", "internal", "group", "ADDRESS", "ipv6", "vpn-instance", "vpnv4", "vpnv6"):
            self.assertRegex(said, r"(?m)^  %s +\S" % word)
        self.assertRegex(said, r"(?m)^ +192\.0\.2\.2 2001:db8::2 ")  # peers, from the configuration
        said = shell.keys("e?", r"<keel> refresh bgp e$")  # in the middle of a word
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["external", "ADDRESS"])
        said = shell.keys("x i?", r"<keel> refresh bgp ex i$")
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["import"])
        said = shell.keys("m ?", r"<keel> refresh bgp ex im $")
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["wait", "|", "<cr>"])
        said = shell.keys("\x15show rib | ?", r"<keel> show rib \| $")  # filters
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["include", "exclude", "begin", "count"])
        said = shell.keys("inc x | count ?", r"<keel> show rib \| inc x \| count $")
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["TEXT", "|", "<cr>"])
        said = shell.keys("\x15refresh foo ?", r"<keel> refresh foo $")
        self.assertIn('word 2 "foo": expected bgp', said)
        said = shell.keys("\x15show route vpn-instance red ?", r"<keel> show route vpn-instance red $")
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said)[:7], ["PREFIX", "ADDRESS", "ipv4-family", "ipv6-family", "peer", "advertised", "received"])
        said = shell.keys("\x15display bgp vpn-instance red ?", r"<keel> display bgp vpn-instance red $")
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said), ["summary", "peer", "ipv4-family", "ipv6-family", "routing-table"])
        said = shell.keys("\x15show rib; reset bgp ipv4 ?", r"<keel> show rib; reset bgp ipv4 $")  # the command under the cursor
        self.assertEqual(re.findall(r"(?m)^  (\S+)", said)[:2], ["slow-peer", "ADDRESS"])
        shell.line("\x15")
        shell.line("system-view")
        shell.line("bgp 64512")
        said = shell.keys("undo peer transit ?", r"\] undo peer transit $")
        words = re.findall(r"(?m)^  (\S+)", said)
        self.assertEqual(words[:4] + words[-2:], ["as-number", "group", "enable", "description", "|", "<cr>"])
        self.assertIn("description", words)

    def test_names_that_fit(self):
        """A peer stands where a peer is meant, a prefix of the document where a prefix is, and no address of a peer where a destination is."""
        for words, has, lacks in ((["show", "bgp", "peer", ""], {"192.0.2.2"}, {"203.0.113.0/24"}), (["show", "route", ""], {"203.0.113.0/24"}, {"192.0.2.2"}),
                                  (["show", "fib", ""], {"stats"}, {"192.0.2.2"})):
            found = {line.split("\t")[0] for line in self.good(["--complete", *words]).splitlines()}
            self.assertEqual((has - found, lacks & found), (set(), set()), words)

    def test_completion(self):
        shell = self.shell()
        self.assertTrue(shell.keys("ref\t", r"refresh $"))
        shell.keys("b\tg\t", r"bgp group $")
        shell.keys("\t", r"transit $")
        shell.keys("i\t", r"import $")
        self.assertIn("route-refresh-sent", shell.line("")[0])
        said = shell.keys("show bgp peer \t\t", r"(?s)192\.0\.2\.2 .*2001:db8::2.*<keel> show bgp peer $")
        self.assertIn("192.0.2.98", said)
        shell.keys("\x15show policy \t", r"from-transit $")
        shell.keys("\x15show r\t", r"(?s)route +rib +refresh.*<keel> show r$")
        shell.keys("\x15rpc fib.l\t", r"fib\.lookup $")
        shell.keys("\x15show rib | \t", r"(?s)include +exclude +begin +count.*<keel> show rib \| $")
        shell.keys("exc\tx | c\t", r"exclude x \| count $")
        shell.line("\x15")
        shell.line("system-view")
        shell.keys("b\t\t", r"bgp 64512 $")
        self.assertEqual(shell.line("")[1], "[~keel-bgp]")

    def test_reset_asks(self):
        self.wait("the sessions", self.complete)
        before = self.peers()["192.0.2.2"]["established_count"]
        shell = self.shell()
        for answers in (["n"], ["what", "no"]):
            said = shell.keys("reset bgp 192.0.2.2\n", r"Reset 1 session\? \[y/n\] $")
            self.assertRegex(said, r"192\.0\.2\.2 +default +would-reset +ipv4-unicast ipv6-unicast")
            for a in answers[:-1]:
                shell.keys(a + "\n", r"\[y/n\] $")
            self.assertIn("nothing was reset", shell.line(answers[-1])[0])
        shell.keys("reset bgp 192.0.2.2\n", r"\[y/n\] $")
        self.assertIn("nothing was reset", shell.keys("\x03", Shell.PROMPT))  # Ctrl-C means no
        self.assertEqual(self.peers()["192.0.2.2"]["established_count"], before)
        shell.keys("reset bgp 192.0.2.2\n", r"\[y/n\] $")
        self.assertRegex(shell.line("y")[0], r"192\.0\.2\.2 +default +reset +ipv4-unicast ipv6-unicast")
        self.wait("a new session", lambda: self.peers()["192.0.2.2"]["established_count"] == before + 1)
        self.wait("the sessions", self.complete)

    def test_refresh_progress(self):
        self.wait("the sessions", self.complete)
        said, _ = self.shell().line("refresh bgp external import wait")
        self.assertRegex(said, r"job \d+: \d of \d sessions, done after ")

    def test_lines_typed_early(self):
        """Lines typed during a progress line are read at the next prompt, and shown there alone."""
        path, typed = os.path.join(self.dir, "late.sock"), threading.Event()

        def answer(listener):
            connection = listener.accept()[0]
            with connection, connection.makefile("r") as lines:
                for request in map(json.loads, lines):
                    if request["method"] == "rib.summary":
                        typed.wait(60)
                    connection.sendall(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"tables": []}}).encode() + b"\n")

        with socket.socket(socket.AF_UNIX) as late:
            late.bind(path)
            late.listen(8)
            threading.Thread(target=answer, args=(late,), daemon=True).start()
            shell = Shell(path, self.dir)
            self.addCleanup(shell.end)
            shell.keys("show rib\n", r"waiting for the daemon, \d+ s$")
            shell.type("help\nshow ver")
            self.assertNotIn("help", shell.until(r"(waiting for the daemon, \d+ s){2}$"))
            typed.set()
            said = shell.until(r"<keel> show ver$")
            self.assertRegex(said, r"VRF +Family[^\n]+\n<keel> help\n")
            self.assertNotIn("help", said.partition("<keel>")[0])

    def test_history(self):
        path = os.path.join(self.dir, ".keel_history")
        if os.path.exists(path):
            os.unlink(path)
        shell = self.shell()
        shell.line("show rib")
        shell.line("show jobs")
        self.assertIn("ipv4-unicast", shell.line("\x1b[A\x1b[A")[0])  # the cursor key
        self.assertEqual(shell.end(), 0)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        os.chmod(path, 0o644)
        shell = self.shell()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertIn("ipv4-unicast", shell.line("\x10")[0])
        self.assertIn("job", shell.line("\x10\x10")[0].lower())
        for i in range(1100):  # bounded
            shell.line("frob%d" % i)
        shell.end()
        with open(path) as f:
            self.assertLessEqual(len(f.readlines()), 1001)

    def test_the_history_holds_no_password(self):
        path = os.path.join(self.dir, ".keel_history")
        with open(path, "w") as f:
            f.write("_HiStOrY_V2_\nshow\\040jobs\npeer\\040192.0.2.98\\040password\\040simple\\040S3cret\nshow\\040mrt\n")
        shell = self.shell()
        for line in ("show rib", "system-view", "bgp 64512", "peer 192.0.2.98 password simple S3cret", "p 192.0.2.98 p s S3cret", "pe 192.0.2.98 p s S3cret", "peer 192.0.2.98 pasword S3cret",
                     "quit", "set /bgp/peers/0/password S3cret", "show rib; bgp 64512; peer 192.0.2.98 pas cip S3cret; discard", 'peer 192.0.2.98 password simple "S3cret',
                     'rpc config.edit {"merge":{"rpki":{"caches":[{"address":"192.0.2.7","password":"S3cret"}]}}}', "neighbor 192.0.2.98 password S3cret", 'p 192.0.2.98 p s "S3cret', "bgp 64513; p 192.0.2.98 p s S3cret", "watch p 192.0.2.98 p s S3cret",
                     "peer 192.0.2.98 password cipher", "S3cret", "return", "show vrf", "discard"):
            shell.line(line)
        shell.keys("reset bgp 192.0.2.2\n", r"Reset 1 session\? \[y/n\] $")  # the answer may be the next pasted line
        shell.line("no: S3cret")
        self.assertEqual(shell.end(), 0)
        with open(path) as f:
            kept = f.read().replace("\\012", "").replace("\\040", " ").split("\n")[1:-1]
        self.assertEqual(kept, ["show jobs", "show mrt", "show rib", "system-view", "bgp 64512", "quit", "return", "show vrf", "discard", "reset bgp 192.0.2.2"])

    def test_interrupt(self):
        """Ctrl-C discards a line, and ends the wait for an answer; the shell continues."""
        path = os.path.join(self.dir, "silent.sock")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen(8)
            shell = Shell(path, self.dir)
            self.addCleanup(shell.end)
            shell.type("show foo")
            shell.until("show foo$")
            self.assertEqual(shell.keys("\x03", Shell.PROMPT), "\n<keel> ")
            shell.keys("show rib\n", r"waiting for the daemon, \d+ s$")
            self.assertIn("rib.summary: interrupted", shell.keys("\x03", Shell.PROMPT))
            self.assertEqual(shell.line("help")[1], "<keel>")

    def test_daemon_goes_away(self):
        shell = self.shell()
        shell.line("show rib")
        self.stop(0)
        try:
            self.assertIn("no daemon at", shell.line("show rib")[0])
            self.assertEqual(shell.line("system-view")[1], "[~keel]")
        finally:
            self.start(0)
            self.wait("the sessions", self.complete)
        said = shell.line("show rib")[0]
        self.assertIn("connected to the daemon again", said + shell.start)
        self.assertIn("ipv4-unicast", said)

    def test_a_commit_asks_for_each_session(self):
        """The question names the session; only `y` ends it."""
        shell, before = self.shell(), self.peers()["192.0.2.2"]["established_count"]
        for line in ("system-view", "bgp 64512", "undo peer 192.0.2.2 capability-advertise route-refresh"):
            shell.line(line)
        said = shell.keys("commit\n", r"Commit and end 1 session\? \[y/n\] $")
        self.assertIn("the session with 192.0.2.2 of VRF default would end: configuration-change", said)
        self.assertIn("nothing was committed", shell.keys("n\n", Shell.PROMPT))
        self.assertEqual(self.peers()["192.0.2.2"]["established_count"], before)
        shell.keys("commit\n", r"Commit and end 1 session\? \[y/n\] $")
        commit = int(re.search(r"commit (\d+)", shell.keys("y\n", Shell.PROMPT)).group(1))
        self.assertNotEqual(self.peers()["192.0.2.2"]["state"], "established")
        self.assertIn("commit %d" % (commit + 1), shell.line("rollback %d force" % (commit - 1))[0])
        self.wait("the sessions", self.complete)

    def test_candidate_moves_between(self):
        """Simultaneous edits: no edit is lost."""
        lines = ["system-view; bgp 64512; peer 192.0.2.%d as-number 7" % i for i in range(100, 116)]
        threads = [threading.Thread(target=self.ctl, args=([line],)) for line in lines]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(self.candidate()["peers"]), 3 + len(lines))
        self.good("discard")


if __name__ == "__main__":
    run_tests()
