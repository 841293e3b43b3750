#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Links of sessions against a real keeld without a data plane: carrier lost and back, interface set down and up, address removed, link deleted; which
sessions end (`link_sensitive`), which routes become unreachable, and which next hops are advertised. Needs root; else the exit status is 77.

usage: test_links.py KEELD
"""
import ipaddress
import os
import socket
import struct

import keel_rig
from keel_rig import REFRESH, THEM, UPDATE, US, V4, V6, InstanceTest, KeelTest, Speaker, attributes, ip, prefixes

PERMIT = {"import_policy": "accept-all", "export_policy": "accept-all"}
FAR, FAR_US, INTERNAL, PINNED = "198.51.100.2", "198.51.100.1", "192.0.2.3", "192.0.2.4"


class Peer(Speaker):
    def __init__(self, namespace, address=THEM, us=US, device=None, **how):
        self.us, self.device = us, device
        super().__init__(namespace, address=address, **how)

    def connect(self):
        def end(host):
            return socket.getaddrinfo(host + ("%" + self.device if self.device else ""), 179, type=socket.SOCK_STREAM)[0]
        family, kind, _, _, to = end(self.us)
        until = keel_rig.time.monotonic() + keel_rig.WAIT_S
        while True:
            s = socket.socket(family, kind)
            s.settimeout(2)
            try:
                s.bind(end(self.address)[4][:1] + (0,) + end(self.address)[4][2:])
                s.connect(to)
                s.settimeout(None)
                return s
            except OSError:
                s.close()
            assert keel_rig.time.monotonic() < until, "nobody listens at %s" % self.us
            keel_rig.threading.Event().wait(0.02)


def peer(address, asn, **more):
    return dict({"address": address, "asn": asn, "passive": True, "families": {V4: PERMIT}}, **more)


class LinksTest(KeelTest):
    """keeld has k1 towards most peers, and k2 towards an observer, which tells what keeld advertises."""

    def setUp(self):
        self.near = "near%d" % os.getpid()
        ip("netns", "add", self.near)
        self.addCleanup(ip, "netns", "del", self.near)
        super().setUp()
        self.addCleanup(lambda: [s.close() for s in self.speakers])
        self.speakers = []

    def give_addresses(self):
        ip("-n", self.namespace, "link", "set", "lo", "up")
        for n, ours, theirs in ((1, (US + "/24", "2001:db8::1/64"), (THEM + "/24", INTERNAL + "/24", PINNED + "/24", "2001:db8::2/64")),
                                (2, (FAR_US + "/24",), (FAR + "/24",))):
            self.join(n)
            for ns, device, addresses in ((self.namespace, "k%d" % n, ours), (self.near, "f%d" % n, theirs)):
                for a in addresses:
                    ip("-n", ns, "addr", "add", a, "dev", device, *(["nodad"] if ":" in a else []))

    def join(self, n):
        ip("link", "add", "k%d" % n, "netns", self.namespace, "type", "veth", "peer", "name", "f%d" % n, "netns", self.near)
        self.set(n, "up")
        self.set_far(n, "up")

    def set(self, n, state):
        ip("-n", self.namespace, "link", "set", "k%d" % n, state)

    def set_far(self, n, state):
        ip("-n", self.near, "link", "set", "f%d" % n, state)

    def begin(self, *peers, groups=(), **bgp):
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": dict(
            {"peers": list(peers) + [peer(FAR, 64599)], "groups": list(groups), "redistribute": [{"source": "connected"}]}, **bgp)})
        self.observer = self.connect(FAR, FAR_US, asn=64599)

    def connect(self, address=THEM, us=US, **how):
        s = Peer(self.near, address, us, families=how.pop("families", (V4,)), **how)
        self.speakers.append(s)
        self.assertTrue(s.established(), self.keel.logged())
        self.wait("the session", lambda: self.state(address)["state"] == "established")
        return s

    def state(self, address):
        return next(p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == address)

    def told(self, *prefixes):
        """The observer has these routes beside the network of its own link."""
        want = set(prefixes) | {"198.51.100.0/24"}
        self.wait("the routes %s" % sorted(want), lambda: self.observer.table() == want, self.observer.changed)

    def lost(self, address=THEM):
        self.await_logged("session-down peer=%s vrf=\\S+ reason=link-down" % address.replace("%", "."))


class Links(LinksTest):
    # ---- the ways to lose a link ----

    def lose_and_return(self, lose, back, subnet=True):
        """Few things follow from a lost link that do not follow from a lost session: the routes of a session that stays."""
        self.begin(peer(THEM, 64513), peer(INTERNAL, 64512), peer(PINNED, 64515, link_sensitive=False))
        external, _, pinned = self.connect(), self.connect(INTERNAL, asn=64512), self.connect(PINNED, asn=64515)
        external.announce("20.0.0.0")
        pinned.announce("22.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24", "22.0.0.0/24")
        down = self.keel.notifications("session")
        lose()
        self.told()  # long before a hold time of 90 s
        self.lost()
        event = next(down)
        self.assertEqual((event["address"], event["event"], event["reason"]), (THEM, "down", "link-down"))
        s = self.state(THEM)
        self.assertEqual((s["last_error"], s["falls"]), ("link-down", {"lost link-down": 1}))
        self.assertNotEqual(s["state"], "established")
        self.assertEqual([self.state(a)["state"] for a in (INTERNAL, PINNED)], ["established"] * 2)
        fate = self.keel.call("rib.fate", {"family": V4, "prefix": "22.0.0.0/24"})
        self.assertEqual([p["reason"] for p in fate["paths"]], ["next-hop-unreachable"], fate)
        back()
        self.told("192.0.2.0/24", "22.0.0.0/24")
        self.connect().announce("20.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24", "22.0.0.0/24")
        self.assertEqual([self.state(a)["established_count"] for a in (THEM, INTERNAL, PINNED)], [2, 1, 1])

    def test_carrier(self):
        self.lose_and_return(lambda: self.set_far(1, "down"), lambda: self.set_far(1, "up"))

    def test_interface_down(self):
        self.lose_and_return(lambda: self.set(1, "down"), lambda: self.set(1, "up"))

    def test_address_removed(self):
        at = ("-n", self.namespace, "addr")
        self.lose_and_return(lambda: ip(*at, "del", US + "/24", "dev", "k1"), lambda: ip(*at, "add", US + "/24", "dev", "k1"))


    def test_link_deleted(self):
        self.begin(peer(THEM, 64513))
        self.connect().announce("20.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24")
        ip("-n", self.namespace, "link", "del", "k1")
        self.told()
        self.lost()
        self.join(1)  # with another index
        for ns, device, a in ((self.namespace, "k1", US), (self.near, "f1", THEM)):
            ip("-n", ns, "addr", "add", a + "/24", "dev", device)
        self.connect().announce("20.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24")

    # ---- which sessions ----

    def test_graceful_restart(self):
        """Stale routes would lead over the lost link."""
        self.begin(peer(THEM, 64513, timers={"long_lived_stale_time": 3600}))
        self.connect(restart=120).announce("20.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24")
        self.set_far(1, "down")
        self.told()
        self.lost()
        self.assertFalse(self.state(THEM)["families"][V4]["retained"])

    def test_commits(self):
        """The key acts at once, of a group, too, and with the link down. A rollback undoes it."""
        off = {"bgp": {"groups": [{"name": "g", "link_sensitive": False}]}}
        self.begin(peer(THEM, 64513, group="g"), groups=[{"name": "g"}])
        self.connect()
        self.assertTrue(self.state(THEM)["link_sensitive"])
        self.assertEqual([e["kind"] for e in self.keel.commit(off) if e.get("kind") == "reset"], [])
        self.assertNotIn("link_sensitive", self.state(THEM))
        self.set_far(1, "down")
        self.told()  # the network of the link is gone
        self.assertEqual(self.state(THEM)["state"], "established")
        self.keel.call("config.rollback", {"to": 0})
        self.lost()
        self.assertEqual(self.state(THEM)["established_count"], 1)

    def test_peers_of_other_kinds(self):
        """Neither an internal peer nor a peer several hops away. A peer of a range is removed."""
        self.begin(peer(INTERNAL, 64512), peer(PINNED, 64515, multihop=2), groups=[{"name": "g", "asn": 64513, "families": {V4: PERMIT}}],
                   listen_ranges=[{"prefix": THEM + "/32", "group": "g"}])
        self.connect(INTERNAL, asn=64512)
        self.connect(PINNED, asn=64515)
        self.connect().announce("20.0.0.0")
        self.told("192.0.2.0/24", "20.0.0.0/24")
        self.set(1, "down")
        self.told()
        self.lost()
        self.wait("the end of the peer", lambda: {p["address"] for p in self.keel.call("bgp.peers")["peers"]} == {INTERNAL, PINNED, FAR})
        self.assertEqual([self.state(a)["state"] for a in (INTERNAL, PINNED)], ["established"] * 2)


def next_hops(speaker):
    """Prefix -> next hop field of the last announcement in MP_REACH_NLRI."""
    found = {}
    for _, kind, b in list(speaker.messages):
        if kind != UPDATE:
            continue
        n = struct.unpack(">H", b[:2])[0]
        for code, value in attributes(b[4 + n:4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]]):
            if code == 14:
                hop, rest = value[4:4 + value[3]], value[5 + value[3]:]
                found.update({p: " ".join(str(ipaddress.ip_address(hop[k:k + 16])) for k in range(0, len(hop), 16)) for p in prefixes(rest, 2, 1)})
            elif code == 15:
                for p in prefixes(value[3:], 2, 1):
                    found.pop(p, None)
    return found


class OwnNextHops(LinksTest):
    """RFC 2545 3: the own next hop of a session follows the addresses of its interface."""

    def address(self, word, address, device="k1"):
        ip("-n", self.namespace, "addr", word, address, "dev", device, *(["nodad"] if word == "add" else []))

    def hop(self, speaker, hop):
        want = {"2001:db8:9::/48": hop} if hop else {}
        self.wait("the next hop %s, not %s" % (hop, next_hops(speaker)), lambda: next_hops(speaker) == want, speaker.changed)

    def test_follows(self):
        for n in (1, 2):
            ip("-n", self.namespace, "-6", "addr", "flush", "dev", "k%d" % n)
        self.address("add", "2001:db8:2::1/64", "k2")
        both = {V4: PERMIT, V6: PERMIT}
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {
            "peers": [peer(THEM, 64513, families=both), peer(FAR, 64599, families=both)], "networks": [{"prefix": "2001:db8:9::/48"}]}})
        near, far = self.connect(families=(V4, V6)), self.connect(FAR, FAR_US, asn=64599, families=(V4, V6))
        self.hop(far, "2001:db8:2::1")
        self.wait("End-of-RIB", lambda: near.ends() == 2)
        self.assertEqual(next_hops(near), {})
        before = len(far.messages)
        self.address("add", "2001:db8::1/64")  # late
        self.hop(near, "2001:db8::1")
        self.address("add", "fe80::1/64")
        self.hop(near, "2001:db8::1 fe80::1")
        self.address("add", "2001:db8::99/64")  # replaced
        self.address("del", "2001:db8::1/64")
        self.hop(near, "2001:db8::99 fe80::1")
        self.address("del", "fe80::1/64")
        self.hop(near, "2001:db8::99")
        self.address("del", "2001:db8::99/64")  # removed, and back
        self.hop(near, None)
        self.address("add", "2001:db8::98/64")
        self.hop(near, "2001:db8::98")
        self.keel.call("bgp.refresh", {"family": V6, "scope": "all", "direction": "export"})
        self.wait("the answer", lambda: sum(kind == REFRESH and b[2] == 2 for _, kind, b in near.messages) > 0)
        self.hop(near, "2001:db8::98")
        self.assertEqual([(k, b) for _, k, b in far.messages[before:] if k == UPDATE and b"\x80\x0f" in b], [])  # nothing is withdrawn elsewhere
        self.hop(far, "2001:db8:2::1")
        self.assertEqual([self.state(a)["established_count"] for a in (THEM, FAR)], [1, 1])


NAME = "l%d" % os.getpid()


class Instance(InstanceTest):
    """A link in the namespace of an instance, with the name of a link of keeld's own namespace."""
    names = (NAME,)

    def test_instance(self):
        self.start({"router": {"asn": 64512, "router_id": US}, "vrfs": [{"name": NAME}],
                    "bgp": {"peers": [peer(THEM, 64513, vrf=NAME)], "redistribute": [{"source": "connected", "vrf": NAME}]}})
        ip("-n", self.namespace, "link", "add", "e" + NAME, "type", "veth", "peer", "name", "x" + NAME)
        self.join(NAME)
        s = Speaker("ce-" + NAME)
        self.addCleanup(s.close)
        self.assertTrue(s.established(), self.keel.logged())
        s.announce("20.0.0.0")

        def valid():
            return {r["prefix"] for r in self.keel.call("rib.routes", {"family": V4, "vrf": NAME, "view": "loc"})["routes"] if r["valid"]}
        self.wait("the routes", lambda: valid() == {"192.0.2.0/24", "20.0.0.0/24"})
        ip("-n", self.namespace, "link", "set", "e" + NAME, "up")
        ip("-n", self.namespace, "link", "del", "e" + NAME)  # another link
        self.await_logged("link interface=e%s state=gone" % NAME)
        self.assertEqual(valid(), {"192.0.2.0/24", "20.0.0.0/24"})
        ip("-n", "ce-" + NAME, "link", "set", "c" + NAME, "down")
        self.await_logged("session-down peer=192.0.2.2 vrf=%s reason=link-down" % NAME)
        self.wait("the end of the routes", lambda: valid() == set())


if __name__ == "__main__":
    keel_rig.main()
