#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every line of the documents for VPN instances and VPN families, and every refresh and reset of keelctl(1), all alternatives expanded, typed
against a real keeld with peers of all families, in two instances, and with slow peers: exit status, answer, messages at each peer by address
family, and the sessions that drop. Needs root (network namespaces); else the exit status is 77.

usage: test_verbatim.py KEELD KEELCTL
"""
import collections
import json
import os
import re
import subprocess
import sys
import threading

KEELCTL = sys.argv.pop(2)

import keel_rig  # noqa: E402
from keel_rig import AFI_SAFI, KEEPALIVE, NOTIFICATION, REFRESH, UPDATE, US, V4, V6, VPNV4, VPNV6, InstanceTest, KeelTest, Speaker, nlri, update_of  # noqa: E402

sys.argv.insert(1, KEELCTL)  # the order of keelctl_lab
from keelctl_lab import Shell  # noqa: E402
sys.argv.pop(1)
from operator_lines import DOCUMENTS, OWN, lines_of  # noqa: E402

RED, BLUE, GREEN = ("%s%d" % (c, os.getpid()) for c in "rbg")  # GREEN has no peers
FAMILIES = (V4, V6, VPNV4, VPNV6)
WORDS = dict(zip(("ipv4", "ipv6", "vpnv4", "vpnv6"), FAMILIES)) | {"ipv4-family": V4, "ipv6-family": V6}
LINES = [t for t in DOCUMENTS + OWN["user"] if t.startswith(("refresh", "reset"))]
ADMINISTRATIVE_RESET = b"\6\4"
Peer = collections.namedtuple("Peer", "vrf address asn families group up")
PEERS = [
    Peer("default", "192.0.2.2", 64513, FAMILIES, "transit", True),
    Peer("default", "192.0.2.3", 64512, FAMILIES, None, True),
    Peer("default", "2001:db8::2", 64513, (V6, VPNV4, VPNV6), "transit", True),
    Peer("default", "192.0.2.50", 64514, (V4,), None, True),
    Peer("default", "192.0.2.51", 64515, (V4, VPNV4), None, False),  # does not connect
    Peer(RED, "192.0.2.2", 64513, (V4, V6), "transit", True),
    Peer(RED, "192.0.2.3", 64512, (V4, V6), None, True),
    Peer(RED, "2001:db8::2", 64513, (V4, V6), "transit", True),
    Peer(RED, "192.0.2.50", 64514, (V6,), None, True),
    Peer(BLUE, "192.0.2.2", 64513, (V4, V6), "transit", True),
]
NOBODY = {"ADDRESS": ["192.0.2.52", "2001:db8::52"], "ASN": ["64999"], "GROUP": ["empty"]}


def samples(vrf, **more):
    """Words for the VALUES of the documents and of keelctl(1)."""
    own = {"ADDRESS": ["192.0.2.2", "2001:db8::2", "192.0.2.50", "192.0.2.51"], "ASN": ["0.64513", "64512"], "GROUP": ["transit"]} | more
    v4, v6 = ([a for a in own["ADDRESS"] if (":" in a) == v] for v in (False, True))
    return own | {"VRF": [vrf], "vpn-instance-name": [vrf], "peer-address": own["ADDRESS"], "ipv4-address": v4, "ipv6-address": v6,
                  "group-name": own["GROUP"], "as-number": own["ASN"]}


def distinct(lines):
    return list(map(list, dict.fromkeys(map(tuple, lines))))


def chosen(line):
    """The family that a line names, and the peers, by the words of the contract alone."""
    rest, vrf, family = line[2:], "default", V4
    if rest[0] == "vpn-instance":
        vrf, family, rest = rest[1], WORDS[rest[2]], rest[3:]
    elif rest[0] in WORDS:
        family, rest = WORDS[rest[0]], rest[1:]
    elif ":" in rest[0]:  # no word: the unicast family that the IPv6 peer has
        family = V4 if any(p.address == rest[0] and V4 in p.families for p in PEERS if p.vrf == vrf) else V6
    high, _, low = rest[0].rpartition(".") if rest[0].count(".") == 1 else ("0", "", rest[0])
    fits = {"all": lambda p: True, "internal": lambda p: p.asn == 64512, "external": lambda p: p.asn != 64512,
            "group": lambda p: p.group == rest[1]}.get(
        rest[0], lambda p: p.address == rest[0] if ":" in rest[0] or rest[0].count(".") == 3 else p.asn == int(high) << 16 | int(low))
    return family, [p for p in PEERS if p.vrf == vrf and family in p.families and fits(p)]


def settings(families):
    policies = {"import_policy": "accept-all", "export_policy": "accept-all"}
    return {f: policies | ({"next_hop_unchanged": True} if f in (VPNV4, VPNV6) else {}) for f in families}  # a label stays with its next hop


def ctl(keel, line):
    p = subprocess.run([KEELCTL, "--socket", keel.path, "--json"] + line, capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


class Lines(InstanceTest):
    names = (RED, BLUE)

    def setUp(self):
        super().setUp()
        subprocess.run(["ip", "-n", self.namespace, "addr", "add", "2001:db8::2/64", "dev", "lo", "nodad"], check=True)
        for name in self.names:
            for address in ("192.0.2.3", "192.0.2.50"):
                subprocess.run(["ip", "-n", "ce-" + name, "addr", "add", address + "/32", "dev", "lo"], check=True)
        peers = [{"address": p.address, "asn": p.asn, "vrf": p.vrf, "passive": True, "families": settings(p.families)} |
                 ({"group": p.group} if p.group else {}) for p in PEERS]
        self.start({"router": {"asn": 64512, "router_id": US}, "vrfs": [{"name": n} for n in (RED, BLUE, GREEN)],
                    "bgp": {"next_hop_tracking": False, "groups": [{"name": "transit"}, {"name": "empty"}], "peers": peers,
                            "networks": [{"prefix": "203.0.113.0/24", "vrf": v} for v in ("default", RED, BLUE)]}})
        for name in self.names:
            self.join(name)
        self.speakers, self.count = {}, {p: 0 for p in PEERS if p.up}
        self.connect(self.count)

    def connect(self, peers):
        """Sessions of `peers`, each until End-of-RIB of all its families."""
        for p in peers:
            self.speakers[p] = Speaker(self.namespace if p.vrf == "default" else "ce-" + p.vrf, p.address, p.asn, families=p.families)
            self.addCleanup(self.speakers[p].close)
            self.count[p] += 1
        for p in peers:
            s = self.speakers[p]
            self.assertTrue(s.established(), (p, self.keel.logged()))
            self.wait("End-of-RIB", lambda: s.ends() == len(p.families), s.changed)
        self.expected = {p: collections.Counter() for p in self.count} if not hasattr(self, "expected") else \
            self.expected | {p: collections.Counter() for p in peers}

    def sessions(self):
        """Sessions so far of each peer that is established."""
        by_key = {(p.vrf, p.address): p for p in PEERS}
        return {by_key[p["vrf"], p["address"]]: p["established_count"] for p in self.keel.call("bgp.peers")["peers"] if p["state"] == "established"}

    def received(self, peer):
        """ROUTE-REFRESH messages by family: requests, BoRR and EoRR."""
        return collections.Counter((f, b[2]) for _, kind, b in list(self.speakers[peer].messages) if kind == REFRESH
                                   for f in FAMILIES if AFI_SAFI[f] == (b[1], b[3]))

    def check_messages(self, text):
        for p, expected in self.expected.items():
            self.assertEqual(self.received(p), expected, (text, p))

    def check_nobody(self, status, out, err, text):
        self.assertEqual((status, out), (1, ""), text)
        self.assertRegex(err, r"no peer|no VRF|no group", text)
        self.assertIn("(-32004)", err, text)

    def check_refresh(self, line, family, peers, answer):
        action = "route-refresh-sent" if "import" in line else "readvertised"
        self.assertEqual({(a["vrf"], a["address"], a["action"]) for a in answer["peers"]},
                         {(p.vrf, p.address, action if p.up else "not-established") for p in peers}, line)
        if answer["job"] is not None:
            self.wait("end of the job", lambda: self.keel.job(answer["job"]) == "done")
        for p in peers:
            if p.up:
                self.expected[p] += collections.Counter([(family, 0)] if "import" in line else [(family, 1), (family, 2)])
                self.wait("the messages", lambda: self.received(p) == self.expected[p], self.speakers[p].changed)

    def check_reset(self, line, family, peers, answer):
        self.assertEqual({(a["vrf"], a["address"], a["action"], tuple(sorted(a["families_dropped"]))) for a in answer["peers"]},
                         {(p.vrf, p.address, "reset", p.families) if p.up else (p.vrf, p.address, "not-established", ()) for p in peers}, line)
        dropped = [p for p in peers if p.up]
        for p in dropped:
            self.wait("the end of the session", self.speakers[p].closed, self.speakers[p].changed)
            self.assertEqual([b[:2] for _, kind, b in self.speakers[p].messages if kind == NOTIFICATION][0], ADMINISTRATIVE_RESET, line)
        self.connect(dropped)

    def check_all(self, lines):
        self.assertGreater(len(lines), 50)
        for line in lines:
            text = " ".join(line)
            family, peers = chosen(line)
            status, out, err = ctl(self.keel, line)
            if not peers:
                self.check_nobody(status, out, err, text)
                continue
            self.assertEqual((status, err), (0 if any(p.up for p in peers) else 1, ""), text)
            (self.check_refresh if line[0] == "refresh" else self.check_reset)(line, family, peers, json.loads(out))
            self.check_messages(text)
            self.assertEqual(self.sessions(), self.count, text)
        # A message that came late would be before those of a last refresh.
        for family, vrf in [(f, "default") for f in FAMILIES] + [(f, v) for f in (V4, V6) for v in self.names]:
            self.keel.call("bgp.refresh", {"family": family, "vrf": vrf, "scope": "all", "direction": "import"})
        for p in self.count:
            self.expected[p] += collections.Counter((f, 0) for f in p.families)
            self.wait("the last request", lambda: sum(self.received(p).values()) >= sum(self.expected[p].values()), self.speakers[p].changed)
        self.check_messages("all")

    def test_nobody_and_refresh(self):
        self.check_lines_for_nobody()
        self.check_all([x for x in distinct(lines_of(LINES, samples(RED))) if x[0] == "refresh"])

    def test_reset(self):
        self.check_all([x for x in distinct(lines_of(LINES, samples(RED))) if x[0] == "reset" and "slow-peer" not in x])

    def test_the_shell_asks_before_a_reset(self):
        """The question names the sessions and all families that would drop; after `n` no session drops, after `y` the named ones."""
        shell, before = Shell(self.keel.path, self.folder), self.sessions()
        self.addCleanup(shell.end)
        lines = [x for x in distinct(lines_of(LINES, samples(RED))) if x[0] == "reset" and "slow-peer" not in x]
        last = ["reset", "bgp", "vpn-instance", RED, "ipv4-family", "external"]
        self.assertIn(last, lines)
        for line, answer in [(x, "n") for x in lines] + [(last, "y")]:
            text, (_, peers) = " ".join(line), chosen(line)
            said, asked = shell.line(text, r"(?:(?:^|\n)<keel>|[^\n]*\[y/n\]) $")
            said = re.sub(r"\n +(?=\S)", " ", said)  # a cell that has two lines
            rows = {r[:3] + (tuple(r[3].split()),) for r in re.findall(r"(?m)^(\S+) +(\S+) +(would-reset|not-established) +(.*)$", said)}
            self.assertEqual(rows, {(p.address, p.vrf, "would-reset", p.families) if p.up else (p.address, p.vrf, "not-established", ("-",))
                                    for p in peers}, text)
            hit = [p for p in peers if p.up]
            self.assertEqual(asked, "Reset %d session%s? [y/n]" % (len(hit), "s"[len(hit) == 1:]) if hit else "<keel>", text)
            if not peers:
                self.assertRegex(said, "no peer|no VRF|no group", text)
            if hit and answer == "n":
                self.assertIn("nothing was reset", shell.line("n")[0], text)
        self.assertEqual(self.sessions(), before)
        shell.line("y")
        for p in hit:
            self.wait("the end of the session", self.speakers[p].closed, self.speakers[p].changed)
        self.connect(hit)
        self.assertEqual(self.sessions(), self.count)

    def check_lines_for_nobody(self):
        """No peer, no such instance, no such group, no slow peer."""
        before = self.sessions()
        lines = [x for x in lines_of(LINES, samples(RED, **NOBODY)) if not {"all", "external", "internal"} & set(x)]
        lines += [x for vrf in (GREEN, "nowhere") for x in lines_of([t for t in LINES if "vpn-instance" in t], samples(vrf)) if "vpn-instance" in x]
        lines += [x for x in lines_of(LINES, samples(RED)) if "slow-peer" in x]
        status, out, err = ctl(self.keel, ["show", "bgp", "vpn-instance", RED, "ipv4-family", "peer", "192.0.2.50"])
        self.assertEqual((status, out), (1, ""))
        self.assertIn("peer 192.0.2.50 does not have ipv4-unicast", err)
        summary = json.loads(ctl(self.keel, ["show", "bgp", "vpn-instance", RED, "ipv4-family", "summary"])[1])
        self.assertEqual({p["address"] for p in summary["peers"]}, {p.address for p in PEERS if p.vrf == RED and V4 in p.families})
        for line in distinct(lines):
            self.check_nobody(*ctl(self.keel, line), " ".join(line))
        self.assertEqual(self.sessions(), before)
        self.check_messages("nobody")


class Stopped(Speaker):
    """Reads nothing after `stop` is set, until the end of the test, which may be later than the hold time."""

    def __init__(self, *args, **how):
        self.stop, self.over = threading.Event(), threading.Event()
        super().__init__(*args, **how)

    def exactly(self, n):
        while self.stop.is_set() and not self.over.wait(20):
            self.send(KEEPALIVE)
        return super().exactly(n)

    def close(self):
        self.over.set()
        super().close()


class SlowLines(KeelTest):
    """For each family three slow peers, one with an IPv6 address, and one that reads."""
    FEEDER, ROUTES = "192.0.2.2", 100

    def setUp(self):
        super().setUp()
        addresses = ["192.0.2.%d" % (10 + i) for i in range(12)] + ["2001:db8::%x" % (16 + i) for i in range(4)]
        for a in addresses:
            subprocess.run(["ip", "-n", self.namespace, "addr", "add", a + ("/64" if ":" in a else "/24"), "dev", "lo"] + ["nodad"] * (":" in a), check=True)
        # Small socket buffers: a peer that stops reading stops keeld soon.
        subprocess.run(["ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 16384", "net.ipv4.tcp_rmem=4096 16384 16384"],
                       check=True)
        self.slow_peers = {f: [addresses[2 * i], addresses[12 + i], addresses[2 * i + 1]] for i, f in enumerate(FAMILIES)}
        self.reader = dict(zip(FAMILIES, addresses[8:12]))
        peers = [{"address": self.FEEDER, "asn": 64513, "passive": True, "families": settings(FAMILIES)}]
        for f in FAMILIES:
            for a in self.slow_peers[f] + [self.reader[f]]:
                peers.append({"address": a, "asn": 64514, "passive": True, "families": settings([f]), "slow_peer": {"absolute_s": 1, "relative_s": 0}})
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"next_hop_tracking": False, "peers": peers}})
        feeder = self.speak(address=self.FEEDER, families=FAMILIES)
        stopped = {(f, a): Stopped(self.namespace, a, 64514, families=[f]) for f in FAMILIES for a in self.slow_peers[f]}
        for s in stopped.values():
            self.addCleanup(s.close)
        for s in stopped.values():
            self.assertTrue(s.established())
            s.stop.set()
        for f in FAMILIES:
            self.speak(address=self.reader[f], asn=64514, families=[f])
        for f in FAMILIES:
            for i in range(self.ROUTES):  # attributes of their own, 3,000 octets
                more = b"\xd0\x08" + (3000).to_bytes(2, "big") + b"\xfb\x01" * 1498 + (0xfb010000 + i).to_bytes(4, "big")
                net = "20.%d.0.0" % i if f in (V4, VPNV4) else "2001:db8:%x::" % (i + 1)
                feeder.send(UPDATE, update_of(f, self.FEEDER if f != V6 else "2001:db8::2", (64513,), nlri(f, net, 24 if f in (V4, VPNV4) else 48), more))
        self.wait("the slow peers", lambda: self.slow() == {f: set(a) for f, a in self.slow_peers.items()})

    def peers(self):
        return self.keel.call("bgp.peers")["peers"]

    def slow(self):
        return {f: {p["address"] for p in self.peers() if p["families"].get(f, {}).get("slow")} for f in FAMILIES}

    def up(self):
        return {p["address"] for p in self.peers() if p["state"] == "established"}

    def test_each_line_of_slow_peers(self):
        templates = [t for t in LINES if "slow-peer" in t]
        for short, family in list(WORDS.items())[:4]:
            v4, v6, last = self.slow_peers[family]
            found = lines_of(templates, samples(RED, ADDRESS=[v4, v6, self.reader[family]]))
            lines = sorted((x for x in distinct(found) if x[2] == short), key=len, reverse=True)
            self.assertEqual(len(lines), 4, lines)
            for line in lines:
                before, hit = self.up(), {v4: {v4}, v6: {v6}, "slow-peer": {last}}.get(line[3], set())
                status, out, err = ctl(self.keel, line)
                if hit:
                    self.assertEqual((status, err), (0, ""), line)
                    self.assertEqual([(p["address"], p["vrf"], p["action"], p["families_dropped"]) for p in json.loads(out)["peers"]],
                                     [(a, "default", "reset", [family]) for a in hit], line)
                else:
                    self.assertEqual((status, out, "(-32004)" in err), (1, "", True), (line, err))
                self.assertEqual(self.up(), before - hit, line)
                self.slow_peers[family] = [a for a in self.slow_peers[family] if a not in hit]
                self.assertEqual(self.slow(), {f: set(a) for f, a in self.slow_peers.items()}, line)


if __name__ == "__main__":
    keel_rig.main()
