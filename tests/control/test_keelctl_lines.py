#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each line of router_lines.txt (VRP, FRR, birdc) is done by keelctl, or is answered by a line that keelctl does. Without a daemon: a line that
is understood ends with "no daemon" (exit status 3).

usage: test_keelctl_lines.py KEELCTL
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import unittest

KEELCTL = sys.argv[1]
LEAST = 300
# Values that an operator fills in.
SAMPLES = {"NAME": "CUST", "COMMUNITY": "64513:7", "REGEX": "_64513_", "ADDRESS": "192.0.2.2", "FILE": "capture", "ID": "3"}
# Understood without a daemon.
LOCAL = ("quit", "system-view", "help", "return")
ELSEWHERE = re.compile(r' belongs to the (system|BGP|family) views?; | belongs to the view of a route policy; ')
CONFIGURATION = re.compile(r"^(undo )?(peer|group|bgp \d|ipv[46]-family|return|set /|ip (ip|ipv6)-prefix|ip [a-z-]+-filter|route-policy|if-match|apply|goto|call|description)")


def lines():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "router_lines.txt")) as f:
        return [line.strip().partition(": ")[::2] for line in f if not line.startswith("#")]


def run(text):
    p = subprocess.run([KEELCTL, "--socket", "/nonexistent/keel.sock"] + text.split(), capture_output=True, text=True, timeout=300,
                       stdin=subprocess.DEVNULL)
    return p.returncode, p.stderr


def done(text):
    """True if keelctl understands the line, perhaps in another view."""
    words = text.split()
    status, error = run(text[len("--json "):] if text.startswith("--json ") else text)
    return status == 3 or (status == 0 and words[0] in LOCAL) or \
        (status == 2 and bool(CONFIGURATION.match(text)) and bool(ELSEWHERE.search(error)))


def fault(line):
    """None, or what is wrong."""
    if done(line):
        return None
    status, error = run(line)
    m = re.fullmatch(r"keelctl: use: (.*)\n", error)
    if status != 2 or m is None:
        return "%s: neither done nor answered, but %d: %s" % (line, status, error)
    use = " ".join(SAMPLES.get(w, w) for w in m.group(1).split())
    return None if done(use) else "%s: the answer %s is no line of keelctl: %s" % (line, use, run(use)[1])


class Lines(unittest.TestCase):
    def test_each_line_is_done_or_answered(self):
        all_lines = lines()
        self.assertGreaterEqual(len(all_lines), LEAST)
        self.assertEqual({who for who, _ in all_lines}, {"vrp", "frr", "birdc", "keel"})
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.assertEqual([f for f in pool.map(fault, [line for _, line in all_lines]) if f], [])

    def test_an_unknown_line_is_neither(self):
        self.assertIsNotNone(fault("show ip bgp sumary now"))
        self.assertIsNotNone(fault("frobnicate"))

    def test_foreign_values_are_kept(self):
        self.assertEqual(run("clear ip bgp 192.0.2.7 soft in"), (2, "keelctl: use: refresh bgp 192.0.2.7 import\n"))
        self.assertEqual(run("show bgp vrf red summary")[1], "keelctl: use: show bgp vpn-instance red summary\n")


if __name__ == "__main__":
    del sys.argv[1:]
    unittest.main()
