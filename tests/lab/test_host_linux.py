#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The router as a host on its links, beside Linux in the same place: both get the same packets, and each check holds for both. Neighbours that are not
resolved yet, packets with an address of the router as their source, errors about fragments.

    a --- pa rt (keeld) pb --- b        la --- pa lr (Linux) pb --- lb
"""
import socket
import struct
import sys

import labtest
from labtest import KEELD, Lab, in_netns, need, out_folder
from lab import PATIENCE_S, cpus_of_lab, wait_for, worker_drops
from test_wire_conformance import IP4, IP6, ip4, ip6

NAME = "host_linux"
NET4, NET6 = "10.%d.0.%s", "2001:db8:%d::%s"


def config():
    worker, others = cpus_of_lab()
    return {"router": {"asn": 64512, "router_id": "10.0.0.1"}, "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
            "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [NET4 % (i, "1/24"), NET6 % (i, "1/64")]}
                      for i, n in ((1, "pa"), (2, "pb"))],
            "static_routes": [{"prefix": "10.30.0.0/24", "next_hop": "10.2.0.30"}, {"prefix": "2001:db8:30::/48", "next_hop": "2001:db8:2::30"}]}


class Side:
    """A router between two hosts."""

    def __init__(self, lab, name, router, left, right):
        self.lab, self.name, self.router, self.left, self.right = lab, name, router, left, right
        linux = name == "linux"
        lab.host(router, forward=linux, ipv6=True)
        for h, i, up in ((left, 1, "pa"), (right, 2, "pb")):
            lab.host(h, ipv6=True)
            own = [NET4 % (i, "1/24"), NET6 % (i, "1/64")] if linux else None
            lab.link(h, "up", [NET4 % (i, "2/24"), NET6 % (i, "2/64")], router, up, own)
            lab.sh(h, "ip route add default via %s; ip -6 route add default via %s" % (NET4 % (i, "1"), NET6 % (i, "1")))
        lab.sh(right, "ip address add 10.30.0.1/32 dev lo; ip address add 2001:db8:30::1/128 dev lo nodad")
        if linux:
            lab.sh(router, "sysctl -qw net.ipv6.icmp.ratelimit=0")
            lab.sh(router, "ip route add 10.30.0.0/24 via 10.2.0.30; ip -6 route add 2001:db8:30::/48 via 2001:db8:2::30")

    def add(self, host, address):
        """A new address of a host, which the router has not heard of."""
        self.lab.sh(host, "ip address add %s dev up%s" % ((address + "/64", " nodad") if ":" in address else (address + "/24", "")))

    def ping(self, address, *options):
        return self.lab.sh(self.left, "ping -n %s %s" % (" ".join(options), address), check=False)

    def burst(self, address, count, before_answer=None):
        """Sends numbered datagrams at once; the numbers that arrive, in order."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def opened():
            return socket.socket(family, socket.SOCK_DGRAM)

        to = in_netns(self.lab.netns(self.right), opened)
        out = in_netns(self.lab.netns(self.left), opened)
        with to, out:
            to.bind(("", 9000))
            to.setblocking(False)
            got = []
            for n in range(count):
                out.sendto(bytes([n]), (address, 9000))
            if before_answer:
                before_answer()

            def arrived():
                try:
                    while True:
                        got.append(to.recv(10)[0])
                except BlockingIOError:
                    return len(got) == count
            try:
                wait_for("datagrams", arrived, 5, patience=5)
            except TimeoutError:
                pass
            return got


    def packet_socket(self):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind(("up", 0x0800))
        return s

    def inject(self, packets):
        """Sends IP packets from the left host to the router, with any source."""
        mac, own = (bytes.fromhex(self.lab.sh(h, "cat /sys/class/net/%s/address" % dev).strip().replace(":", ""))
                    for h, dev in ((self.router, "pa"), (self.left, "up")))
        with in_netns(self.lab.netns(self.left), self.packet_socket) as s:
            for p in packets:
                s.send(mac + own + (IP6 if p[0] >> 4 == 6 else IP4) + p)

    def errors(self, packets, address):
        """Types and codes of the ICMP errors about injected packets, in order, until the error about a marker to `address`."""
        def opened():
            s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            s.settimeout(PATIENCE_S)
            return s

        with in_netns(self.lab.netns(self.left), opened) as s:
            marker = ip6("2001:db8:1::2", address, b"marker" + bytes(20), hops=1, proto=253)
            got = []
            for p in packets:  # one by one: a router limits errors
                self.inject([p, marker])
                while True:
                    data = s.recv(2000)
                    if data[0] >= 128:
                        continue
                    if b"marker" in data:
                        break
                    got.append((data[0], data[1], bytes(data[8:]) == p))
            return got


def udp(payload):
    """Without a checksum in IPv4; the socket of IPv6 is raw."""
    return struct.pack("!HHHH", 9001, 9000, 8 + len(payload), 0) + payload


def own_sources(checks, side, rpc):
    """RFC 1122 3.2.1.3, RFC 1812 5.3.8."""
    def opened():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("", 9000))
        s.settimeout(PATIENCE_S)
        return s

    with in_netns(side.lab.netns(side.right), opened) as s:
        side.inject([ip4(src, "10.2.0.2", udp(src.encode())) for src in ("10.1.0.1", "10.2.0.1", "10.1.0.2")])
        checks.equal("%s: of packets from 10.1.0.1, 10.2.0.1, both of the router, and 10.1.0.2, the last one arrives" % side.name, s.recv(100), b"10.1.0.2")
    if rpc:  # Linux has the rule for IPv4 alone
        side.inject([ip6(src, "2001:db8:2::2", bytes(20)) for src in ("2001:db8:1::1", "2001:db8:2::1")])
        checks.comes_to("%s: each is counted, IPv6 too" % side.name, lambda: worker_drops(rpc, "own-source"), 4)


def fragments(checks, side):
    """RFC 4443 2.4 (e): no error about an ICMPv6 error."""
    later = b"\0\0\x11\0\0\0\7"
    packets = [ip6("2001:db8:1::2", "2001:db8:2::2", bytes([proto]) + head + bytes(24), hops=1, proto=44)
               for proto, head in ((17, b"\0\0\1\0\0\0\7"), (17, later), (6, later), (58, later))]
    checks.equal("%s: an error about a first fragment and later ones of UDP, TCP and ICMPv6" % side.name, side.errors(packets, "2001:db8:2::2"), [(3, 0, True)] * 4)


def neighbours(checks, side):
    """RFC 1122 2.3.2.2, RFC 4861 7.2.2."""
    all20 = list(range(20))
    for address in ("10.2.0.10", "2001:db8:2::10"):
        side.add(side.right, address)
        checks.equal("%s: 20 packets to %s, not resolved, all arrive in order" % (side.name, address), side.burst(address, 20), all20)
    for address in ("10.2.0.11", "2001:db8:2::11"):
        side.add(side.right, address)
        out = side.ping(address, "-c 3 -i 0.2")
        checks.true("%s: ping of %s, not resolved, loses none of 3" % (side.name, address), " 0% packet loss" in out, out)
    for to, hop in (("10.30.0.1", "10.2.0.30"), ("2001:db8:30::1", "2001:db8:2::30")):
        checks.equal("%s: 20 packets by the next hop %s, which answers late, all arrive in order" % (side.name, hop),
                     side.burst(to, 20, lambda: side.add(side.right, hop)), all20)
    for address, router in (("10.2.0.99", "10.1.0.1"), ("2001:db8:2::99", "2001:db8:1::1")):
        out = side.ping(address, "-c 3 -i 0.2 -W 4")
        checks.true("%s: an error about each packet to %s, which does not answer" % (side.name, address),
                    out.count("From %s" % router) == 3 and "100% packet loss" in out, out)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        linux, keel = Side(lab, "linux", "lr", "la", "lb"), Side(lab, "keel", "rt", "a", "b")
        daemon, rpc = lab.keeld("rt", config(), KEELD)
        wait_for("the router answers", lambda: " 0% packet loss" in keel.ping("2001:db8:2::2", "-c 1 -W 1"), 30)
        for side in (linux, keel):
            own_sources(checks, side, rpc if side is keel else None)
            fragments(checks, side)
            neighbours(checks, side)
        worker = rpc.call("dataplane.stats")["workers"][0]
        checks.equal("nothing waits any more, and none was replaced", (worker["waiting"], worker["drops"]["neighbor-queue"]), (0, 0))
        rpc.close()
        checks.equal("keeld stops in order", daemon.stop(), 0)


if __name__ == "__main__":
    need("ip", "ethtool", "ping", files=[KEELD])
    sys.exit(labtest.main(test))
