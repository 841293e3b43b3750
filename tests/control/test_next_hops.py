#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Next hops that resolve by BGP routes, static routes over BGP routes, and `preference` between static routes and BGP, against a real keeld
without a data plane. VRF: all in a VPN instance; RIB_THREADS. Needs root; else the exit status is 77.

usage: test_next_hops.py KEELD
"""
import ipaddress
import struct
import time

import keel_rig
from keel_rig import THEM, UPDATE, US, V4, VRF, KeelTest, Speaker, attributes, ip, nlri_of

INTERNAL, RECEIVER = "192.0.2.3", "192.0.2.50"
ASNS = {THEM: 64513, INTERNAL: 64512, RECEIVER: 64515}
ALL = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}
AT = {"vrf": VRF} if VRF else {}


def packed(prefix):
    n = ipaddress.ip_network(prefix)
    return bytes([n.prefixlen]) + n.network_address.packed[:(n.prefixlen + 7) // 8]


class Router(Speaker):
    def route(self, prefix, next_hop, asns=(), pref=100):
        path = b"\x40\1\1\0\x40\2" + (bytes([2 + 4 * len(asns), 2, len(asns)]) + struct.pack(">%dI" % len(asns), *asns) if asns else b"\0")
        path += b"\x40\3\4" + ipaddress.ip_address(next_hop).packed + (struct.pack(">BBBI", 0x40, 5, 4, pref) if self.asn == 64512 else b"")
        self.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + packed(prefix))

    def unroute(self, prefix):
        self.send(UPDATE, struct.pack(">H", len(packed(prefix))) + packed(prefix) + b"\0\0")

    def paths(self):
        """Prefix -> AS path, of the routes held."""
        held = {}
        for _, kind, b in list(self.messages):
            if kind != UPDATE:
                continue
            n = struct.unpack(">H", b[:2])[0]
            end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
            for prefix, _, _ in nlri_of(b[2:2 + n]):
                held.pop(prefix, None)
            asns = [v for k, v in attributes(b[4 + n:end]) if k == 2]
            for prefix, _, _ in nlri_of(b[end:]):
                held[prefix] = struct.unpack(">%dI" % (asns[0][1] if asns[0] else 0), asns[0][2:])
        return held


class NextHops(KeelTest):
    def give_addresses(self):
        """Our address, and a namespace with the peers behind a link."""
        far = "%s-far" % self.namespace
        if ip("netns", "list", check=False).find(far) < 0:
            ip("netns", "add", far)
            self.addCleanup(ip, "netns", "del", far, check=False)
        ip("link", "add", "near", "netns", self.namespace, "type", "veth", "peer", "name", "far", "netns", far)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        for ns, dev, hosts in ((self.namespace, "near", [US]), (far, "far", list(ASNS))):
            for host in hosts:
                ip("-n", ns, "addr", "add", host + "/24", "dev", dev)
            ip("-n", ns, "link", "set", dev, "up")
        self.far = far

    def begin(self, more=None, bgp=None):
        """Starts keeld with `more`, and the three peers."""
        peers = [{"address": a, "asn": n, "passive": True, "families": ALL} for a, n in ASNS.items()]
        self.start(dict({"router": {"asn": 64512, "router_id": US}, "bgp": dict({"peers": peers}, **(bgp or {}))}, **(more or {})))
        self.external, self.internal, self.receiver = (self.router(a) for a in ASNS)

    def router(self, address):
        end = time.monotonic() + keel_rig.WAIT_S
        while True:
            s = Router(self.far, address=address, asn=ASNS[address], families=(V4,))
            self.addCleanup(s.close)
            if s.established():
                return s
            s.close()
            assert time.monotonic() < end, self.keel.logged()

    def holds(self, prefix, path):
        """Waits until the receiver has the route with this AS path; None: no route."""
        self.wait("%s with %s: %s" % (prefix, path, self.receiver.paths()), lambda: self.receiver.paths().get(prefix) == path, self.receiver.changed)

    def test_by_bgp_routes(self):
        self.begin()
        self.internal.route("203.0.1.0/24", "192.168.0.1", (65050,))
        self.internal.route("192.168.0.0/24", INTERNAL)
        self.holds("203.0.1.0/24", (64512, 65050))
        self.internal.unroute("192.168.0.0/24")
        self.holds("203.0.1.0/24", None)
        # through a further route, and a longer one that is not reachable
        self.internal.route("192.168.0.0/16", "172.16.0.1")
        self.internal.route("192.168.0.0/24", "172.17.0.1")
        self.internal.route("172.16.0.0/16", INTERNAL)
        self.holds("203.0.1.0/24", (64512, 65050))

    def test_own_prefix(self):
        """The preferred path resolves by the other path of its prefix alone: it is not usable, and nothing moves."""
        self.begin()
        self.external.route("203.0.0.0/16", THEM, (64513, 65050))
        self.holds("203.0.0.0/16", (64512, 64513, 65050))
        self.internal.route("203.0.0.0/16", "203.0.4.1", (65050,), 200)
        self.internal.route("203.1.0.0/16", "203.0.4.1", (65051,), 200)
        self.holds("203.1.0.0/16", (64512, 65051))
        # a route over the same next hop shows that the answer has arrived; its withdrawal that nothing follows
        self.internal.unroute("203.1.0.0/16")
        self.holds("203.1.0.0/16", None)
        self.assertEqual(self.receiver.paths(), {"203.0.0.0/16": (64512, 64513, 65050)})
        self.assertEqual(len(self.receiver.updates(0)), 3)
        self.assertEqual([a for a in self.keel.call("system.info")["alarms"] if a["kind"] == "next-hop-unstable"], [])

    def test_static_over_bgp(self):
        static = {"static_routes": [dict(AT, prefix="10.66.67.0/28", next_hop="172.22.22.8")]}
        redistribute = {"redistribute": [dict(AT, source="static")]}
        self.begin(static, redistribute)
        self.internal.route("172.22.22.0/24", INTERNAL)
        self.holds("10.66.67.0/28", (64512,))
        self.internal.unroute("172.22.22.0/24")
        self.holds("10.66.67.0/28", None)
        self.internal.route("172.22.0.0/16", INTERNAL)
        self.holds("10.66.67.0/28", (64512,))
        self.keel.commit({"static_routes": []})
        self.holds("10.66.67.0/28", None)
        self.keel.commit(static)
        self.holds("10.66.67.0/28", (64512,))
        self.keel.commit({"bgp": {"redistribute": []}})
        self.holds("10.66.67.0/28", None)
        self.keel.commit({"bgp": redistribute})
        self.holds("10.66.67.0/28", (64512,))

    def test_floating_static(self):
        """A static route with a higher preference than BGP is announced while there is no BGP route alone."""
        static = [dict(AT, prefix="10.99.0.0/24", blackhole=True)]
        self.begin({"static_routes": static, "preference": {"static": 250}}, {"redistribute": [dict(AT, source="static")]})
        self.holds("10.99.0.0/24", (64512,))
        self.external.route("10.99.0.0/24", THEM, (64513,))
        self.holds("10.99.0.0/24", (64512, 64513))
        self.external.unroute("10.99.0.0/24")
        self.holds("10.99.0.0/24", (64512,))
        self.internal.route("10.99.0.0/24", INTERNAL, (65050,))
        self.holds("10.99.0.0/24", (64512, 65050))
        # between external and internal routes: the best of BGP decides
        self.keel.commit({"preference": {"static": 100}})
        self.holds("10.99.0.0/24", (64512,))
        self.external.route("10.99.0.0/24", THEM, (64513,))
        self.holds("10.99.0.0/24", (64512, 64513))
        self.internal.route("10.99.0.0/24", INTERNAL, (65050,), 200)
        self.holds("10.99.0.0/24", (64512,))
        self.keel.commit({"static_routes": []})
        self.holds("10.99.0.0/24", (64512, 65050))
        self.keel.commit({"static_routes": static, "preference": {"static": 1}})
        self.holds("10.99.0.0/24", (64512,))


if __name__ == "__main__":
    keel_rig.main()
