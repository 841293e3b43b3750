#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Refused routes are always reported: every tenth route has one of 21 faults. Counters, records and alarms of a real keeld (needs root: else the
exit status is 77).

usage: test_refused.py KEELD KEELCTL
"""
import ipaddress
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

KEELCTL = sys.argv.pop(2)

from keel_rig import KeelTest, THEM, UPDATE, US_V6, V4, V6, main, update_of  # noqa: E402

AS = 64513
ROUTES = int(os.environ.get("ROUTES", 100000))
PER_UPDATE = 90
DRAWN = 1000
CHECKS_MAX = 1  # from the first refused route until the event of the alarm
PEER = {"address": THEM, "asn": AS, "passive": True, "allow_as_sets": False, "families": {V4: {"import_policy": "in", "export_policy": "accept-all"}}}
DOCUMENT = {
    "router": {"asn": 64512, "router_id": "192.0.2.1"},
    "as_path_lists": [{"name": "bad", "entries": [{"action": "permit", "regex": "_64999_"}]}],
    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "deny", "match": {"as_path_list": "bad"}}, {"seq": 20, "action": "permit"}]}],
    "bgp": {"peers": [PEER]}}


def attribute(flags, kind, value):
    return bytes([flags | 0x10, kind]) + struct.pack(">H", len(value)) + value


def as_path(*asns):
    return attribute(0x40, 2, b"".join(struct.pack(">BB%dI" % len(part), 2, len(part), *part) for part in
                                       (asns[i:i + 255] for i in range(0, len(asns), 255))))


# 192.0.2.2 is an address of the router in this namespace
ORIGIN, PATH, NEXT_HOP = attribute(0x40, 1, b"\0"), as_path(AS), attribute(0x40, 3, bytes([192, 0, 2, 99]))
GOOD = ORIGIN + PATH + NEXT_HOP
# (cause, attributes, first octets of the prefix; None: any)
FAULTS = [
    ("malformed-origin", attribute(0x40, 1, b"\x09") + PATH + NEXT_HOP, None),
    ("malformed-as-path", ORIGIN + NEXT_HOP, None),
    ("malformed-as-path", ORIGIN + attribute(0x40, 2, b"\x09\x01\0\0\xfc\x01") + NEXT_HOP, None),
    ("malformed-next-hop", ORIGIN + PATH + attribute(0x40, 3, b"\xc0\x00\x02\x02\x01"), None),
    ("malformed-next-hop", ORIGIN + PATH, None),
    ("malformed-med", GOOD + attribute(0x80, 4, b"abc"), None),
    ("malformed-atomic-aggregate", GOOD + attribute(0xc0, 6, b""), None),
    ("malformed-aggregator", GOOD + attribute(0x40, 7, b"\0\0\0\1\0\0\0\1"), None),
    ("malformed-communities", GOOD + attribute(0xc0, 8, b"abc"), None),
    ("malformed-ext-communities", GOOD + attribute(0xc0, 16, b"abc"), None),
    ("malformed-large-communities", GOOD + attribute(0xc0, 32, b"abc"), None),
    ("malformed-only-to-customer", GOOD + attribute(0xc0, 35, b"abc"), None),
    ("as-loop", ORIGIN + as_path(AS, 64512) + NEXT_HOP, None),
    ("first-as", ORIGIN + as_path(64600, AS) + NEXT_HOP, None),
    ("first-as", ORIGIN + as_path() + NEXT_HOP, None),
    ("as-path-length", ORIGIN + as_path(AS, *range(70000, 70254)) + NEXT_HOP, None),
    ("as-set", ORIGIN + attribute(0x40, 2, struct.pack(">BBIBB2I", 2, 1, AS, 1, 2, 64600, 64601)) + NEXT_HOP, None),
    ("unusable-prefix", GOOD, 127),
    ("unusable-prefix", GOOD, 224),
    ("unusable-prefix", GOOD, 240),
    ("policy", ORIGIN + as_path(AS, 64999) + NEXT_HOP, None),
]


def octets(network):
    return b"\x18" + network.packed[:3] if isinstance(network, ipaddress.IPv4Address) else network


def update(attributes, networks):
    return struct.pack(">HH", 0, len(attributes)) + attributes + b"".join(map(octets, networks))


class Refused(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(DOCUMENT)
        self.speaker = self.speak()

    def family(self):
        return self.keel.peer()["families"][V4]

    def refused(self, network, **more):
        r = self.keel.call("rib.routes", dict({"family": V4, "view": "loc", "prefix": "%s/24" % network}, **more))
        return [(e["peer"], e["cause"]) for e in r["refused"]]

    def test_every_tenth_has_a_fault(self):
        events = self.keel.notifications("alarm")
        want, faulty, count, begin = {}, [], {}, time.time()
        for i in range(0, ROUTES - ROUTES // 10, PER_UPDATE):
            self.speaker.send(UPDATE, update(GOOD, [ipaddress.IPv4Address(0x14000000 + (n << 8)) for n in range(i, min(i + PER_UPDATE, ROUTES - ROUTES // 10))]))
            for n in range(i // 9, min(i + PER_UPDATE, ROUTES - ROUTES // 10) // 9):
                cause, attributes, first = FAULTS[n % len(FAULTS)]
                network = ipaddress.IPv4Address((first << 24) + ((n & 0xffff) << 8) if first else (60 << 24) + (n << 8))
                self.speaker.send(UPDATE, update(attributes, [network]))
                count[cause] = count.get(cause, 0) + 1
                faulty.append((network, cause))
        event = next(e for e in events if e["kind"] == "routes-refused")
        self.assertEqual((event["peer"], event["family"], event["vrf"]), (THEM, V4, "default"))
        print("%d routes sent in %.2f s; alarm %.3f s after the first one" % (ROUTES, time.time() - begin, event["time"] - begin), flush=True)
        self.assertIn(THEM, event["text"])
        good = ROUTES - ROUTES // 10
        self.wait("all routes", lambda: (lambda f: f["received"] + f["rejected_total"])(self.family()) == good + len(faulty))
        # until the fib thread has answered for the next hop, good routes count as next-hop
        self.wait("the causes %s" % count, lambda: self.family()["refused"] == count)
        f = self.family()
        self.assertEqual(len(FAULTS), 21)
        self.assertEqual((f["received"], f["accepted"], f["rejected_total"]), (good, good, len(faulty)))
        self.assertEqual(self.keel.peer()["state"], "established")
        for network, cause in random.Random(1).sample(faulty, min(DRAWN, len(faulty))):
            self.assertEqual(self.refused(network), [(THEM, cause)], network)
            want[cause] = network
        self.assertEqual(self.refused("20.0.0.0"), [])
        self.assertTrue(any(a["kind"] == "routes-refused" and a["peer"] == THEM for a in self.keel.call("system.info")["alarms"]))
        self.await_logged(r"alarm kind=routes-refused peer=192\.0\.2\.2 vrf=default family=ipv4-unicast")
        # as text; and absent after a valid announcement
        network = want["as-loop"]
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route", "%s/24" % network], capture_output=True, text=True, timeout=300)
        self.assertRegex(out.stdout, r"no route\n  refused from 192\.0\.2\.2: as-loop, .* ago\n")
        self.speaker.send(UPDATE, update(GOOD, [network]))
        self.wait("the route", lambda: self.family()["received"] == good + 1)
        self.wait("no refusal", lambda: self.refused(network) == [])  # keeld counts a path before it stores the path

    def test_the_alarm_comes_with_the_next_check(self):
        """Counted, not timed: keeld checks for alarms each 0.2 s while a client subscribes, and the event of the alarm comes with the first check after the
        first refused route is counted. Two checks are 0.4 s, so the alarm comes within 1 s on a machine where main is not late."""
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(60)
        sock.connect(self.keel.path)
        lines = sock.makefile()
        self.addCleanup(lines.close)
        sock.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"topics": ["alarm"]}}\n')
        self.assertIn("result", json.loads(lines.readline()))
        first = begin = None
        self.speaker.send(UPDATE, update(FAULTS[0][1], [ipaddress.IPv4Address("20.0.0.0")]))
        sent = time.monotonic()
        for _ in range(100000):
            checks = self.keel.call("control.stats")["alarm_checks"]
            come = bool(select.select([sock], [], [], 0)[0])  # an event of this or an earlier check was sent before the answer
            if first is None and self.family()["refused"]:
                first, begin = self.keel.call("control.stats")["alarm_checks"], time.monotonic()
            if come:
                break
            self.assertFalse(first is not None and checks > first + CHECKS_MAX, "no alarm after %d checks" % (checks - (first or 0)))
        event = json.loads(lines.readline())["params"]
        self.assertEqual((event["kind"], event["peer"]), ("routes-refused", THEM))
        now = time.monotonic()
        print("alarm %.3f s after the UPDATE, %.3f s after the counter was seen" % (now - sent, now - (begin or now)), flush=True)

    def test_routes_of_this_router_come_back(self):
        """FRR sends routes back to their source: on a shared subnet with our next hop, and as a customer with our OTC. Loops are counted, and are neither
        faults nor alarms."""
        both = {"import_policy": "accept-all", "export_policy": "accept-all"}
        self.keel.commit({"bgp": {"networks": [{"prefix": "20.0.0.0/24"}, {"prefix": "2001:db8:7::/48"}],
                                  "peers": [dict(PEER, role="provider", families={V4: both, V6: both})]}})
        self.speaker = self.speak()
        ours, path = [ipaddress.IPv4Address("20.0.0.0")], ORIGIN + as_path(AS, 64512)
        self.speaker.send(UPDATE, update(path + NEXT_HOP, ours))
        self.speaker.send(UPDATE, update(path + attribute(0x40, 3, bytes([192, 0, 2, 1])), ours))
        self.speaker.send(UPDATE, update(path + NEXT_HOP + attribute(0xc0, 35, struct.pack(">I", 64512)), ours))
        self.speaker.send(UPDATE, update_of(V6, US_V6, (AS, 64512), b"\x30" + ipaddress.ip_address("2001:db8:7::").packed[:6]))
        self.wait("the counters", lambda: [self.keel.peer()["families"][f]["refused"] for f in (V4, V6)] == [{"as-loop": 3}, {"as-loop": 1}])
        self.assertEqual(self.keel.call("bgp.faults", {"peer": THEM})["faults"], [])
        checks = self.keel.call("control.stats")["alarm_checks"]
        self.wait("a check", lambda: self.keel.call("system.info") and self.keel.call("control.stats")["alarm_checks"] > checks)
        self.assertEqual(self.keel.call("system.info")["alarms"], [])
        # the path of another router with our next hop is a fault
        self.speaker.send(UPDATE, update(ORIGIN + PATH + attribute(0x40, 3, bytes([192, 0, 2, 1])), ours))
        self.wait("the fault", lambda: self.keel.peer()["families"][V4]["refused"] == {"as-loop": 3, "malformed-next-hop": 1})
        self.wait("the alarm", lambda: [a["kind"] for a in self.keel.call("system.info")["alarms"]] == ["routes-refused"])

    def test_our_number_towards_the_peer(self):
        """A path with `local_as` is a loop; the commit that sets or removes the key begins a session."""
        for local_as, wanted in (None, {}), (65000, {"as-loop": 1}), (64700, {}):
            if local_as is not None:
                self.keel.commit({"bgp": {"peers": [dict(PEER, local_as=local_as)]}})
                self.speaker = self.speak()
            self.speaker.send(UPDATE, update(ORIGIN + as_path(AS, 65000) + NEXT_HOP, [ipaddress.IPv4Address("20.0.0.0")]))
            self.wait("the route with local_as %s" % local_as,
                      lambda: (self.family()["received"], self.family()["refused"]) == (int(not wanted), wanted))

    def test_unusable_prefixes(self):
        """Ignored at any length; similar but usable prefixes are accepted. The session stays."""
        bad = ["0.0.0.0/8", "0.1.0.0/16", "127.0.0.0/8", "127.0.0.1/32", "169.254.0.0/16", "169.254.7.0/24", "224.0.0.0/3", "224.0.0.0/4", "239.1.1.1/32",
               "240.0.0.0/4", "255.255.255.255/32"]
        good = ["0.0.0.0/0", "0.0.0.0/7", "0.0.0.0/1", "1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "169.253.0.0/16", "169.254.0.0/15", "192.0.0.0/2", "223.255.255.0/24"]
        wire = []
        for text in bad + good:
            n = ipaddress.ip_network(text)
            wire.append(bytes([n.prefixlen]) + n.network_address.packed[:(n.prefixlen + 7) // 8])
        self.speaker.send(UPDATE, update(GOOD, wire))
        self.wait("all of them", lambda: self.family()["received"] + self.family()["rejected_total"] == len(bad) + len(good))
        # until the fib thread has answered for their next hop, usable prefixes count as next-hop
        self.wait("valid next hops", lambda: self.family()["refused"] == {"unusable-prefix": len(bad)})
        self.assertEqual({r["prefix"] for r in self.keel.call("rib.routes", {"family": V4, "view": "loc"})["routes"]}, set(good))
        self.assertEqual(self.keel.peer()["state"], "established")

    def test_unusable_ipv6_prefixes(self):
        """The prefixes of translators (RFC 6052, RFC 8215) lie inside ::/8, and are usable."""
        self.keel.commit({"bgp": {"peers": [dict(PEER, families={V6: {"import_policy": "in", "export_policy": "accept-all"}})]}})
        speaker = self.speak()
        bad = ["::/8", "::/32", "::1/128", "::ffff:0:0/96", "64:ff9a::/32", "64:ff9a::/31", "fe80::/10", "fe80:1::/32", "ff00::/8", "ff0e::1/128"]
        good = ["::/0", "::/7", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:db8:5::/48", "fe00::/9"]
        next_hop = ipaddress.ip_address("2001:db8::63").packed
        for n in map(ipaddress.ip_network, bad + good):
            nlri = bytes([n.prefixlen]) + n.network_address.packed[:(n.prefixlen + 7) // 8]
            speaker.send(UPDATE, update(ORIGIN + PATH + attribute(0x80, 14, struct.pack(">HBB", 2, 1, 16) + next_hop + b"\0" + nlri), []))
        family = lambda: self.keel.peer()["families"][V6]  # noqa: E731
        self.wait("all of them", lambda: family()["received"] + family()["rejected_total"] == len(bad) + len(good))
        self.wait("valid next hops", lambda: family()["refused"] == {"unusable-prefix": len(bad)})
        self.assertEqual({r["prefix"] for r in self.keel.call("rib.routes", {"family": V6, "view": "loc"})["routes"]}, set(good))

    def test_first_as_can_be_left_to_the_peer(self):
        """enforce_first_as false for a route server: the peer is asked for its routes again; then back to true."""
        self.speaker.announce("20.0.0.0", asns=(64600, AS))
        self.wait("the fault", lambda: self.family()["refused"] == {"first-as": 1})
        faults = self.keel.call("bgp.faults", {"peer": THEM})["faults"]
        self.assertEqual([f["text"] for f in faults], ["as-path does not begin with the AS number of the peer"])
        effects = self.keel.commit({"bgp": {"peers": [dict(PEER, enforce_first_as=False)]}})
        self.assertEqual([e["effect"] for e in effects if e["direction"] == "import" and e["family"] == V4], ["route-refresh-sent"])
        self.wait("the route", lambda: self.family()["accepted"] == 1)
        self.wait("no refusal", lambda: self.refused("20.0.0.0") == [])
        self.keel.commit({"bgp": {"peers": [PEER]}})
        self.wait("no route", lambda: self.family()["accepted"] == 0)
        self.wait("its cause", lambda: self.refused("20.0.0.0") == [(THEM, "first-as")])
        self.assertEqual(self.keel.peer()["established_count"], 1)

    def test_as_sets_where_allowed(self):
        """RFC 9774: an AS set replaces no earlier route, is withdrawn with a fault, and is accepted with `allow_as_sets`."""
        sets = next(a for cause, a, _ in FAULTS if cause == "as-set")
        self.speaker.send(UPDATE, update(GOOD, [ipaddress.IPv4Address("20.0.0.0")]))
        self.wait("the route", lambda: self.family()["accepted"] == 1)
        self.speaker.send(UPDATE, update(sets, [ipaddress.IPv4Address("20.0.0.0")]))
        self.wait("the withdrawal", lambda: self.family()["accepted"] == 0)
        self.wait("its cause", lambda: self.family()["refused"] == {"as-set": 1})
        faults = self.keel.call("bgp.faults", {"peer": THEM})["faults"]
        self.assertEqual([f["text"] for f in faults], ["as-path contains an AS set (RFC 9774; allow_as_sets permits it)"])
        self.speaker.helpful = False
        effects = self.keel.commit({"bgp": {"peers": [dict(PEER, allow_as_sets=True)]}})
        self.assertEqual([e["effect"] for e in effects if e["direction"] == "import" and e["family"] == V4], ["route-refresh-sent"])
        self.speaker.send(UPDATE, update(sets, [ipaddress.IPv4Address("20.0.0.0")]))
        self.wait("the route", lambda: self.family()["accepted"] == 1)
        self.wait("its path", lambda: [r["as_path"] for r in self.keel.call("rib.routes", {"family": V4, "view": "loc"})["routes"]] == ["%d {64600,64601}" % AS])
        self.assertEqual(self.keel.peer()["established_count"], 1)

    def test_next_hops_that_are_none(self):
        """Stored paths with an unusable next hop are counted while stored; the ends of a connected subnet belong to no host."""
        for last in (255, 0):
            path = ORIGIN + PATH + attribute(0x40, 3, bytes([192, 0, 2, last]))
            networks = [ipaddress.IPv4Address(0x14000000 + (n << 8)) for n in range(50)]
            self.speaker.send(UPDATE, update(path, networks))
            self.wait("the paths", lambda: self.family()["refused"] == {"next-hop": 50})
            self.assertEqual((self.family()["accepted"], self.family()["rejected_total"]), (50, 0))
            self.wait("the alarm", lambda: any(a["kind"] == "routes-refused" and a["peer"] == THEM and "next-hop 50" in a["text"]
                                               for a in self.keel.call("system.info")["alarms"]))
            self.speaker.send(UPDATE, update(GOOD, networks[:20]))
            self.wait("a part is right", lambda: self.family()["refused"] == {"next-hop": 30})
            self.speaker.send(UPDATE, struct.pack(">H", 200) + b"".join(map(octets, networks)) + b"\0\0")
            self.wait("none", lambda: self.family()["refused"] == {})

    def test_longer_paths_where_allowed(self):
        def say(network, length):
            path = (AS,) + tuple(range(70000, 70000 + length - 1))
            self.speaker.send(UPDATE, update(ORIGIN + as_path(*path) + NEXT_HOP, [ipaddress.IPv4Address(network)]))

        say("20.0.0.0", 255)
        self.wait("the fault", lambda: self.family()["refused"] == {"as-path-length": 1})
        say("20.0.1.0", 254)
        self.wait("the route", lambda: self.family()["accepted"] == 1)
        self.speaker.helpful = False
        self.keel.commit({"bgp": {"max_as_path_length": 300}})
        say("20.0.0.0", 255)
        self.wait("the longer route", lambda: self.family()["accepted"] == 2)
        say("20.0.0.0", 301)
        self.wait("nor too long a one", lambda: self.family()["accepted"] == 1)


if __name__ == "__main__":
    main()
