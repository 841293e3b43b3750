#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The router as a host on its links, beside Linux in the same place: both get the same packets, and each check holds for both. Neighbours that are not
resolved yet, packets with an address of the router as their source, errors about fragments, the subnet-router anycast address on ports of AF_XDP, of TAPs,
and of a VPN instance.

    a, ta, va --- pa, ta, va rt (keeld) pb, tb, vb --- b, tb, vb        la --- pa lr (Linux) pb --- lb
"""
import os
import re
import signal
import socket
import struct
import sys

import labtest
from labtest import KEELD, Lab, in_netns, need, out_folder
from lab import PATIENCE_S, cpus_of_lab, remove_namespace, wait_for, worker_drops
from test_wire_conformance import IP4, IP6, ip4, ip6

NAME = "host_linux"
NET4, NET6 = "10.%d.0.%s", "2001:db8:%d::%s"


RED = "hl-red"
# Ports and numbers of their subnets, and the VPN instance.
XDP, TAP, INSTANCE = (("pa", "pb"), (1, 2), None), (("ta", "tb"), (3, 4), None), (("va", "vb"), (1, 2), RED)


def config():
    worker, others = cpus_of_lab()
    ports, routes = [], []
    for (names, nets, vrf), device in ((XDP, "net_af_xdp_%s,iface=%s"), (TAP, "net_tap_%s,iface=f%s"), (INSTANCE, "net_af_xdp_%s,iface=%s")):
        where = {"vrf": vrf} if vrf else {}
        ports += [{"name": n, "device": device % (n, n), "addresses": [NET4 % (i, "1/24"), NET6 % (i, "1/64")], **where} for n, i in zip(names, nets)]
        if not vrf:
            routes += [{"prefix": NET4 % (nets[1] + 28, "0/24"), "next_hop": NET4 % (nets[1], "30")},
                       {"prefix": "2001:db8:%d::/48" % (nets[1] + 28), "next_hop": NET6 % (nets[1], "30")}]
    return {"router": {"asn": 64512, "router_id": "10.0.0.1"}, "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
            "vrfs": [{"name": RED, "rd": "64512:1"}], "ports": ports, "static_routes": routes}


class Side:
    """A router between two hosts."""

    def __init__(self, lab, name, router, left, right, ports=XDP):
        self.lab, self.name, self.router, self.left, self.right = lab, name, router, left, right
        self.ports, self.nets, self.vrf = ports
        linux = name == "linux"
        if router not in lab.hosts:
            lab.host(router, forward=linux, ipv6=True)
        for h, i, up in zip((left, right), self.nets, self.ports):
            lab.host(h, ipv6=True)
            own = [NET4 % (i, "1/24"), NET6 % (i, "1/64")] if linux else None
            if ports is not TAP:
                lab.link(h, "up", [NET4 % (i, "2/24"), NET6 % (i, "2/64")], router, up, own)
                self.defaults(h, i)
        far = self.nets[1] + 28
        lab.sh(right, "ip address add 10.%d.0.1/32 dev lo; ip address add 2001:db8:%d::1/128 dev lo nodad" % (far, far))
        if linux:
            lab.sh(router, "sysctl -qw net.ipv6.icmp.ratelimit=0")
            lab.sh(router, "ip route add 10.30.0.0/24 via 10.2.0.30; ip -6 route add 2001:db8:30::/48 via 2001:db8:2::30")

    def defaults(self, host, net):
        self.lab.sh(host, "ip route add default via %s; ip -6 route add default via %s" % (NET4 % (net, "1"), NET6 % (net, "1")))

    def taps_move(self):
        """The interfaces of net_tap, once they exist, are the hosts' ends of the wires."""
        for h, i, port in zip((self.left, self.right), self.nets, self.ports):
            self.lab.sh(self.router, "ip link set f%s netns %s name up" % (port, self.lab.netns(h)))
            self.lab.sh(h, "ip link set dev up down; ip link set dev up address 02:00:00:00:00:%02x" % i)  # the port has the device's
            self.lab.sh(h, "ip address add %s dev up; ip address add %s dev up nodad; ip link set dev up up" % (NET4 % (i, "2/24"), NET6 % (i, "2/64")))
            self.defaults(h, i)

    def at_router(self, command):
        return self.lab.sh(self.router, command) if not self.vrf else labtest.run("ip", "netns", "exec", "keel-" + self.vrf, "sh", "-c", command)

    def add(self, host, address):
        """A new address of a host, which the router has not heard of."""
        self.lab.sh(host, "ip address add %s dev up%s" % ((address + "/64", " nodad") if ":" in address else (address + "/24", "")))

    def ping(self, address, *options, host=None):
        return self.lab.sh(host or self.left, "ping -n %s %s" % (" ".join(options), address), check=False)

    def answers(self, host, address, source=None):
        """The addresses that answer."""
        out = self.ping(address, "-c 2 -i 0.2 -W 1", *(["-I", source] if source else []), host=host)
        return sorted(set(re.findall(r"bytes from (\S+): ", out)))

    def mac(self, port=0):
        return self.at_router("cat /sys/class/net/%s/address" % self.ports[port]).strip()

    def raw(self, protocol):
        s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
        s.settimeout(PATIENCE_S)
        return s

    def advertised(self, address):
        """The flags solicited and override of the router's neighbour advertisement."""
        with in_netns(self.lab.netns(self.left), lambda: self.raw(socket.IPPROTO_ICMPV6)) as s:
            self.lab.sh(self.left, "ip neigh flush to %s" % address)
            self.ping(address, "-c 1 -W 1")
            while True:
                data = s.recv(2000)
                if data[0] == 136 and data[8:24] == socket.inet_pton(socket.AF_INET6, address):
                    return data[4] & 0x60

    def forwarded(self, packet):
        with in_netns(self.lab.netns(self.right), lambda: self.raw(packet[6])) as s:
            self.inject([packet])
            return s.recv(2000) == packet[40:]

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
        mac, own = (bytes.fromhex(text.strip().replace(":", "")) for text in (self.mac(), self.lab.sh(self.left, "cat /sys/class/net/up/address")))
        with in_netns(self.lab.netns(self.left), self.packet_socket) as s:
            for p in packets:
                s.send(mac + own + (IP6 if p[0] >> 4 == 6 else IP4) + p)

    def errors(self, packets, address):
        """Types and codes of the ICMP errors about injected packets, in order, until the error about a marker to `address`."""
        with in_netns(self.lab.netns(self.left), lambda: self.raw(socket.IPPROTO_ICMPV6)) as s:
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


def anycast(checks, side):
    """RFC 4291 2.6.1: the prefix of a subnet is an address of each of its routers, which answers from a unicast address (RFC 4443 4.2). Not where RFC 6164 gives
    this address to one of two routers."""
    n, (one, two), (pa, _) = side.name, side.nets, side.ports
    here = NET6 % (one, "")
    checks.comes_to("%s: ping of %s on the link" % (n, here), lambda: side.answers(side.left, here), [NET6 % (one, "1")])
    checks.comes_to("%s: ... from the link of another port" % n, lambda: side.answers(side.right, here), [NET6 % (two, "1")])
    own = [[NET6 % (i, "1")] for i in range(1, 5)]  # Keel may choose the address of another port
    checks.comes_to("%s: ... from a network behind another port" % n, lambda: side.answers(side.right, here, "2001:db8:%d::1" % (two + 28)) in own, True)
    link_local = side.lab.sh(side.left, "ip -6 -br address show dev up scope link").split()[2].split("/")[0]
    checks.comes_to("%s: ... from a link-local address" % n, lambda: len(side.answers(side.left, here, link_local + "%up")), 1)
    checks.equal("%s: a solicited advertisement for it, which does not override another router's" % n, side.advertised(here), 0x40)
    checks.true("%s: ... with the address of the port" % n, side.mac() in side.lab.sh(side.left, "ip neigh show %s" % here))
    checks.equal("%s: a packet from it, of another router, is forwarded" % n, side.forwarded(ip6(here, NET6 % (two, "2"), bytes(20), proto=253)), True)

    def change(what, address):
        side.at_router("ip address %s %s dev %s%s" % (what, address, pa, " nodad" if what == "add" else ""))

    for length, good in ((126, 1), (127, 0), (128, 0)):
        subnet = "2001:db8:%d::" % (1000 + length)
        side.lab.sh(side.left, "ip -6 route add %s/64 dev up" % subnet)
        change("add", "%s1/%d" % (subnet, length))
        checks.comes_to("%s: %s1/%d is added, and answered" % (n, subnet, length), lambda: len(side.answers(side.left, subnet + "1")), 1)
        checks.comes_to("%s: ... answers at %s" % (n, subnet), lambda: len(side.answers(side.left, subnet)), good)
        change("del", "%s1/%d" % (subnet, length))
        checks.comes_to("%s: ... and without the address" % n, lambda: len(side.answers(side.left, subnet)), 0)
    change("add", NET6 % (one, "5/64"))
    change("del", NET6 % (one, "1/64"))
    checks.comes_to("%s: %s, while another address of the subnet is there" % (n, here), lambda: side.answers(side.left, here), [NET6 % (one, "5")])
    change("add", NET6 % (one, "1/64"))
    change("del", NET6 % (one, "5/64"))
    side.at_router("ip link set %s down; ip link set %s up" % (pa, pa))
    if side.name != "linux":  # without keep_addr_on_down
        checks.comes_to("%s: ... and after the link was down" % n, lambda: side.answers(side.left, here), [NET6 % (one, "1")])


def anycast_restart(checks, lab, sides, daemon):
    """keelfwd answers without keeld, and the next keeld ends what is gone."""
    for side in sides:
        side.lab.sh(side.left, "ip -6 route add 2001:db8:77::/64 dev up")
        side.at_router("ip address add 2001:db8:77::1/64 dev %s nodad" % side.ports[0])
        checks.comes_to("%s: one more subnet" % side.name, lambda: len(side.answers(side.left, "2001:db8:77::")), 1)
    checks.equal("kill -9 of keeld", daemon.stop(sig=signal.SIGKILL), -signal.SIGKILL)
    for side in sides:
        checks.equal("%s: answered while no keeld runs" % side.name, side.answers(side.left, NET6 % (side.nets[0], "")), [NET6 % (side.nets[0], "1")])
        side.at_router("ip address del 2001:db8:77::1/64 dev %s" % side.ports[0])
    daemon, rpc = lab.keeld("rt", config(), KEELD, own_mounts=False)
    checks.true("the next keeld adopts keelfwd", rpc.call("system.info")["forwarder"]["adopted"])
    for side in sides:
        checks.comes_to("%s: the subnet that has gone" % side.name, lambda: len(side.answers(side.left, "2001:db8:77::")), 0)
        checks.comes_to("%s: the others" % side.name, lambda: side.answers(side.left, NET6 % (side.nets[0], "")), [NET6 % (side.nets[0], "1")])
    return daemon, rpc


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        linux, keel = Side(lab, "linux", "lr", "la", "lb"), Side(lab, "keel", "rt", "a", "b")
        tap, instance = Side(lab, "keel, net_tap", "rt", "ta", "tb", TAP), Side(lab, "keel, instance", "rt", "va", "vb", INSTANCE)
        keels = (keel, tap, instance)
        try:
            daemon, rpc = lab.keeld("rt", config(), KEELD, own_mounts=False)
            tap.taps_move()
            for side in (tap, instance):
                side.add(side.right, NET6 % (side.nets[1], "30"))
            instance.at_router("ip -6 route add 2001:db8:30::/48 via 2001:db8:2::30")  # static routes are of `default`
            for side in keels:
                wait_for("the router answers", lambda s=side: " 0% packet loss" in s.ping(NET6 % (s.nets[1], "2"), "-c 1 -W 1"), 30)
            for side in (linux, keel):
                own_sources(checks, side, rpc if side is keel else None)
                fragments(checks, side)
                neighbours(checks, side)
            worker = rpc.call("dataplane.stats")["workers"][0]
            checks.equal("nothing waits any more, and none was replaced", (worker["waiting"], worker["drops"]["neighbor-queue"]), (0, 0))
            for side in (linux, *keels):
                anycast(checks, side)
            rpc.close()
            daemon, rpc = anycast_restart(checks, lab, keels, daemon)
            checks.equal("no error about an anycast address", [x for x in daemon.logged().splitlines() if "anycast" in x], [])
            rpc.close()
            checks.equal("keeld stops in order", daemon.stop(), 0)
        finally:
            if os.path.exists("/run/netns/keel-" + RED):
                remove_namespace("keel-" + RED)


if __name__ == "__main__":
    need("ip", "ethtool", "nsenter", "ping", files=[KEELD])
    sys.exit(labtest.main(test))
