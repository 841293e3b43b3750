#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each frame is forwarded right, answered by the right ICMP error, or dropped for the named reason, judged byte by byte against a model that shares nothing
with Keel: RFC 1812 chapter 5 with fragmentation and options, RFC 8200, RFC 792, RFC 4443, padding, tags of VLAN 0, and packets of 9,000 octets where the
device has them. The same cases on AF_XDP, net_tap and net_memif: nothing but the device differs, and the MTU that AF_XDP cannot have. The counters of
each group of cases, and of each port, add up. The worker sleeps when it has nothing to do (`dataplane.idle`).

    far (raw sockets) --- ports XXXi, XXXo of each kind --- rt (keeld)

In a guest of scripts/nic-guest the only kind is `pci`, the emulated NICs under vfio-pci.
"""
import ipaddress
import os
import socket
import struct
import sys
import time
import urllib.request

import labtest
from frames import checksum
from labtest import BUILD, KEELD, NICS, Lab, in_netns, need, out_folder
from lab import cpus_of_lab, forwarder_of, wait_for

NAME = "wire_conformance"
BRIDGE = os.path.join(BUILD, "tests", "bench", "lab_bridge")
KINDS = {"pci": 4} if NICS else {"xdp": 1, "tap": 2, "memif": 3}
LARGE = {"xdp": 2000, "tap": 1504, "memif": 9000, "pci": 9000}  # MTU of the port that receives
SMALL = 1300  # MTU of the port to the other side
NEIGHBOR = {"i": b"\x02\0\0\0\0\x0a", "o": b"\x02\0\0\0\0\x0b"}
IP4, IP6, VLAN = b"\x08\0", b"\x86\xdd", b"\x81\0"
UDP, TCP, ICMP, ICMP6 = 17, 6, 1, 58


def device(kind, side, folder):
    """The device string of a port."""
    name = kind + side
    if kind == "pci":
        return NICS["io".index(side)][0]
    return {"xdp": "net_af_xdp_%s,iface=%s" % (name, name), "tap": "net_tap%d,iface=f%s" % ("io".index(side), name),
            "memif": "net_memif%d,role=server,id=%d,socket=%s/%s.sock,socket-abstract=no" % (("io".index(side), "io".index(side), folder, name))}[kind]


def config(folder):
    worker, others = cpus_of_lab()
    ports, routes = [], []
    for kind, n in KINDS.items():
        for s, side in enumerate("io"):
            ports.append({"name": kind + side, "device": device(kind, side, folder), "mtu": SMALL if s else LARGE[kind],
                          "addresses": ["10.%d.%d.1/24" % (n, s), "2001:db8:%d:%d::1/64" % (n, s)]})
        hop = {side: ("10.%d.%d.2" % (n, s), "2001:db8:%d:%d::2" % (n, s)) for s, side in enumerate("io")}
        routes += [{"prefix": "20.%d.0.0/16" % n, "next_hop": hop["o"][0]}, {"prefix": "30.%d.0.0/16" % n, "next_hop": hop["i"][0]},
                   {"prefix": "40.%d.0.0/16" % n, "next_hop": "10.%d.1.9" % n},
                   {"prefix": "2001:db8:b%d00::/40" % n, "next_hop": hop["o"][1]}, {"prefix": "2001:db8:a%d00::/40" % n, "next_hop": hop["i"][1]},
                   {"prefix": "2001:db8:c%d00::/40" % n, "next_hop": "2001:db8:%d:1::9" % n}]
    routes += [{"prefix": "50.0.0.0/16", "blackhole": True}, {"prefix": "2001:db8:d000::/40", "blackhole": True}]
    return {"router": {"asn": 64512, "router_id": "10.0.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512, "idle": "adaptive"}, "management": {"http": "127.0.0.1:9179"}, "ports": ports, "static_routes": routes}


# ---- the model ----

def data(n, seed):
    """n octets that differ between cases."""
    return (struct.pack("!I", seed * 2654435761 & 0xffffffff) * (n // 4 + 1))[:n]


def v4(text):
    return socket.inet_aton(text)


def v6(text):
    return ipaddress.IPv6Address(text).packed


def summed(ip):
    """The IPv4 packet with a right header checksum."""
    n = (ip[0] & 15) * 4
    return ip[:10] + struct.pack("!H", checksum(ip[:10] + b"\0\0" + ip[12:n])) + ip[12:]


def ip4(src, dst, payload=b"", ttl=64, proto=UDP, ident=1, fragment=0, options=b"", tos=0):
    assert len(options) % 4 == 0
    n = 20 + len(options)
    return summed(struct.pack("!BBHHHBBH4s4s", 0x40 | n // 4, tos, n + len(payload), ident, fragment, ttl, proto, 0, v4(src), v4(dst)) + options + payload)


def ip6(src, dst, payload=b"", hops=64, proto=UDP, flow=0, length=None):
    return struct.pack("!IHBB16s16s", 0x60000000 | flow, len(payload) if length is None else length, proto, hops, v6(src), v6(dst)) + payload


def forwarded(ip):
    """RFC 1812 5.3.1, RFC 8200 3."""
    if ip[0] >> 4 == 6:
        return ip[:7] + bytes([ip[7] - 1]) + ip[8:]
    return summed(ip[:8] + bytes([ip[8] - 1]) + ip[9:])


def copied(options):
    """RFC 791 3.1: the options of later fragments."""
    out, at = b"", 0
    while at < len(options) and options[at] != 0:
        n = 1 if options[at] == 1 else options[at + 1] if at + 1 < len(options) else 0
        if n < 1 or at + n > len(options) or (options[at] != 1 and n < 2):
            break
        if options[at] & 0x80:
            out += options[at:at + n]
        at += n
    return out + b"\0" * (-len(out) % 4)


def fragments(ip, mtu):
    """RFC 791 3.2."""
    n = (ip[0] & 15) * 4
    head, options, rest = ip[:20], ip[20:n], ip[n:]
    field, = struct.unpack("!H", ip[6:8])
    out, at = [], 0
    while at < len(rest):
        room = (mtu - 20 - len(options)) & ~7
        part = rest[at:at + room]
        more = at + len(part) < len(rest) or field & 0x2000
        size = 20 + len(options)
        out.append(summed(bytes([0x40 | size // 4, head[1]]) + struct.pack("!H", size + len(part)) + head[4:6] +
                          struct.pack("!H", (field & 0xdfff) + at // 8 | (0x2000 if more else 0)) + head[8:] + options + part))
        if at == 0:
            options = copied(options)
        at += len(part)
    return out


def error4(router, ip, kind, code, word=0):
    """RFC 792, RFC 1812 4.3.2: at most 576 octets in all."""
    body = struct.pack("!BBHI", kind, code, 0, word) + ip[:548]
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return summed(struct.pack("!BBHHHBBH4s4s", 0x45, 0xc0, 20 + len(body), 0, 0x4000, 64, ICMP, 0, v4(router), ip[12:16]) + body)


def error6(router, ip, kind, code, word=0):
    """RFC 4443 2.4 (c): at most 1,280 octets in all."""
    body = struct.pack("!BBHI", kind, code, 0, word) + ip[:1232]
    pseudo = v6(router) + ip[8:24] + struct.pack("!II", len(body), ICMP6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB16s16s", 0x6c000000, len(body), ICMP6, 64, v6(router), ip[8:24]) + body


class Case:
    """A frame and its outcome: frames that leave [(side, frame)], or the reason of the drop, or KERNEL; an error besides."""

    def __init__(self, name, frame, out=(), drop=None, error=False, kernel=False, pieces=0):
        self.name, self.frame, self.out, self.drop, self.error, self.kernel, self.pieces = name, frame, list(out), drop, error, kernel, pieces

    def group(self):
        return (self.drop or ("kernel" if self.kernel else "forwarded"), self.error)


class Cases:
    """The cases of a kind of port, with the addresses of its router."""

    def __init__(self, kind, mac):
        self.kind, self.n, self.mac, self.list, self.count = kind, KINDS[kind], mac, [], 0
        self.large, self.big = LARGE[kind], min(1700, LARGE[kind] - 64)  # big: a payload that needs fragments, with any options
        for make in (self.forward4, self.options4, self.header4, self.addresses4, self.ends4, self.fragment4, self.forward6, self.headers6, self.faults6, self.ends6,
                     self.frames):
            make()
        if kind == "pci":
            self.list = [c for c in self.list if not self.never_seen(c)]

    @staticmethod
    def never_seen(c):
        """What no NIC gives to the worker: frames of less than 60 octets (the sender's device pads them), and frames for other addresses. The emulated e1000e and
        vmxnet3 send no packet with a header beyond its end."""
        return (c.drop == "too-short" and len(c.frame) < 60) or c.drop == "other-host" or \
            (c.name.endswith("hop-by-hop beyond the packet") and os.environ["NIC_GUEST"] != "virtio-net-pci")

    # Each case has a source in a network of its own: errors are limited by network.

    def src4(self):
        self.count += 1
        return "30.%d.%d.5" % (self.n, self.count % 256)

    def src6(self):
        self.count += 1
        return "2001:db8:a%d%02x::5" % (self.n, self.count % 256)

    def dst4(self):
        return "20.%d.0.9" % self.n

    def dst6(self):
        return "2001:db8:b%d00::9" % self.n

    def ether(self, side, packet):
        """A frame that leaves."""
        return (side, NEIGHBOR[side] + self.mac[side] + (IP6 if packet[0] >> 4 == 6 else IP4) + packet)

    def into(self, packet, kind=None, to=None):
        """A frame that arrives at port i."""
        return (to or self.mac["i"]) + NEIGHBOR["i"] + (kind or (IP6 if packet[0] >> 4 == 6 else IP4)) + packet

    def add(self, name, frame, **outcome):
        self.list.append(Case(name, frame, **outcome))

    def passes(self, name, ip, behind=b"", side="o"):
        self.add(name, self.into(ip + behind), out=[self.ether(side, forwarded(ip))])

    def drops(self, name, ip, reason, kernel=False, **more):
        """`kernel`: the XDP program leaves the packet to the kernel."""
        if kernel and self.kind == "xdp":
            self.add(name, self.into(ip, **more), kernel=True)
        else:
            self.add(name, self.into(ip, **more), drop=reason)

    def fails(self, name, ip, reason, kind, code, word=0):
        """Dropped, and answered by an ICMP error."""
        error = (error6("2001:db8:%d::1" % self.n, ip, kind, code, word) if ip[0] >> 4 == 6 else
                 error4("10.%d.0.1" % self.n, ip, kind, code, word))
        self.add(name, self.into(ip), drop=reason, error=True, out=[self.ether("i", error)])

    def four(self, payload=20, **more):
        to = more.pop("dst", None) or self.dst4()
        src = more.pop("src", None) or self.src4()
        return ip4(src, to, data(payload, self.count), **more)

    def six(self, payload=20, **more):
        to = more.pop("dst", None) or self.dst6()
        src = more.pop("src", None) or self.src6()
        return ip6(src, to, data(payload, self.count) if isinstance(payload, int) else payload, **more)

    # ---- IPv4 ----

    def forward4(self):
        for n in (0, 1, 2, 7, 8, 25, 26, 27, 80, 500, 1259, 1260, 1279, 1280):
            self.passes("IPv4 of %d octets" % (20 + n), self.four(n))
        for ttl in (2, 3, 64, 128, 254, 255):
            self.passes("TTL %d" % ttl, self.four(ttl=ttl))
        for tos in (1, 2, 3, 0x10, 0x88, 0xb8, 0xc0, 0xff):
            self.passes("type of service %#x" % tos, self.four(tos=tos))
        for flags in (0x4000, 0x2000, 0x2005, 0x1fff & 100, 0x8000, 0xc000):
            self.passes("flags and offset %#x" % flags, self.four(16, fragment=flags))
        for proto in (0, 1, 2, 6, 17, 41, 47, 50, 89, 132, 255):
            self.passes("protocol %d" % proto, self.four(proto=proto))
        for wanted in (0x0000, 0xfeff, 0xfefe, 0xff00, 0x00ff, 0xfffe, 0x0100):  # RFC 1624 3
            src = self.src4()
            at = next((ident for ident in range(65536) if struct.unpack("!H", ip4(src, self.dst4(), b"", ident=ident)[10:12])[0] == wanted), None)
            if at is not None:
                self.passes("checksum %04x" % wanted, ip4(src, self.dst4(), b"", ident=at))
        for n in (0, 10, 26, 45):
            self.passes("padding behind %d octets" % (20 + n), self.four(n), behind=b"\xee" * max(1, 46 - 20 - n))
        self.passes("200 octets behind the packet", self.four(30), behind=b"\xdd" * 200)
        for n in (1400, self.large - 20):
            self.passes("back by the same port, %d octets" % (20 + n), self.four(n, dst="30.%d.0.9" % self.n), side="i")
        for n in (2100, 4000, 4096, 8000, 8979):
            if self.large > n:
                self.passes("jumbo of %d octets" % (20 + n), self.four(n, dst="30.%d.0.9" % self.n), side="i")

    def options4(self):
        for words in range(1, 11):
            self.passes("%d words of NOP" % words, self.four(options=b"\1" * (4 * words)))
        kinds = {"record route": b"\x07\x07\x04\0\0\0\0\0", "timestamp": b"\x44\x0c\x05\0" + bytes(8), "security": b"\x82\x0b" + bytes(9) + b"\0",
                 "stream id": b"\x88\x04\0\1", "router alert": b"\x94\x04\0\0", "unknown": b"\x5e\x04ab", "unknown, copied": b"\xde\x04ab",
                 "length 0": b"\x07\0\0\0", "length 1": b"\x07\1\0\0", "length beyond the header": b"\x07\x20\0\0", "end of the list": b"\0\0\0\0",
                 "no length": b"\1\1\1\x07", "end before a source route": b"\0\x83\x07\x04\1\2\3\4"}
        for name, options in kinds.items():
            self.passes("option: " + name, self.four(options=options))
        route = b"\x07\x04\1\2\3\4"
        for kind, text in ((b"\x83", "loose"), (b"\x89", "strict")):
            for name, options in (("", kind + route + b"\0"), ("behind NOP", b"\1" + kind + route), ("behind another", b"\x5e\x04ab" + kind + route + b"\0"),
                                  ("used up", kind + b"\x07\x08\1\2\3\4\0")):
                self.drops("%s source route %s" % (text, name), self.four(options=options), "source-route")

    def header4(self):
        good = self.four(40)
        for version in (0, 5, 6, 15):
            self.drops("IPv4 with version %d" % version, summed(bytes([version << 4 | 5]) + good[1:]), "bad-version", kind=IP4)
        for words in range(5):
            self.drops("header of %d words" % words, bytes([0x40 | words]) + good[1:], "bad-header-length")
        self.drops("header beyond the packet", bytes([0x4f]) + good[1:40], "bad-header-length")
        for bit in (1, 2, 4, 8, 9, 12, 15, 17, 19):
            bad = bytearray(self.four(40))
            bad[bit] ^= 1 if bit != 17 else 0x40
            self.drops("a wrong bit in octet %d" % bit, bytes(bad), "bad-checksum")
        self.drops("checksum 0", good[:10] + b"\0\0" + good[12:], "bad-checksum")
        for total in (0, 19, 61, 1500, 65535):
            self.drops("total length %d of 60" % total, summed(good[:2] + struct.pack("!H", total) + good[4:]), "too-short")
        self.drops("total length within the options", summed(bytes([0x46]) + good[1:2] + struct.pack("!H", 22) + good[4:]), "too-short")
        for n in (1, 8, 19):
            self.drops("IPv4 header cut to %d octets" % n, good[:n], "too-short", kernel=True)

    def addresses4(self):
        for src in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "169.254.0.1"):
            self.drops("source " + src, ip4(src, self.dst4(), data(20, 7)), "bad-source")
        for src in ("10.%d.0.1" % self.n, "10.%d.1.1" % self.n):
            self.drops("source %s, an address of the router" % src, ip4(src, self.dst4(), data(20, 7)), "own-source")
        for dst in ("0.0.0.1", "127.0.0.1", "240.0.0.1", "250.1.1.1", "169.254.9.9"):
            self.drops("destination " + dst, self.four(dst=dst), "bad-destination")
        for dst in ("224.0.0.9", "239.255.255.250"):
            self.drops("destination " + dst, self.four(dst=dst), "bad-destination", kernel=True)
        for src in ("1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "169.253.1.1", "169.255.1.1"):
            self.passes("source " + src, self.four(src=src))

    def ends4(self):
        """Errors: RFC 1812 4.3.2.7, 5.2.7, 5.3.1."""
        icmp = {"echo request": b"\x08\0", "timestamp": b"\x0d\0", "unreachable": b"\x03\1", "time exceeded": b"\x0b\0", "redirect": b"\x05\0", "unknown type": b"\x2c\0"}
        for ttl in (0, 1):
            self.fails("TTL %d" % ttl, self.four(30, ttl=ttl), "ttl-expired", 11, 0)
        self.fails("TTL 1 of TCP", self.four(30, ttl=1, proto=TCP), "ttl-expired", 11, 0)
        self.fails("TTL 1 with options", self.four(30, ttl=1, options=b"\1" * 40), "ttl-expired", 11, 0)
        self.fails("TTL 1 of a first fragment", self.four(32, ttl=1, fragment=0x2000), "ttl-expired", 11, 0)
        self.drops("TTL 1 of a later fragment", self.four(32, ttl=1, fragment=4), "ttl-expired")
        for name, head in icmp.items():
            ip = ip4(self.src4(), self.dst4(), head + data(20, self.count), ttl=1, proto=ICMP)
            if head[0] in (8, 13):
                self.fails("TTL 1 of ICMP " + name, ip, "ttl-expired", 11, 0)
            else:
                self.drops("TTL 1 of ICMP " + name, ip, "ttl-expired")
        for n in (0, 8, 100, 527, 528, 529, 1000, self.large - 20):
            self.fails("no route, %d octets" % (20 + n), self.four(n, dst="60.1.2.3"), "no-route", 3, 0)
        self.drops("no route for an ICMP error", ip4(self.src4(), "60.1.2.3", b"\x03\1" + bytes(30), proto=ICMP), "no-route")
        self.drops("no route for a later fragment", self.four(16, dst="60.1.2.3", fragment=7), "no-route")
        for ttl in (2, 64):
            self.drops("blackhole, TTL %d" % ttl, self.four(dst="50.0.1.%d" % ttl, ttl=ttl), "blackhole")
        self.fails("a neighbour that does not answer for 3 s", self.four(dst="40.%d.0.1" % self.n), "unresolved", 3, 1)

    def fragment4(self):
        """RFC 791 3.2, RFC 1812 5.2.6, 5.2.7.3."""
        sizes = [n for n in (1301, 1302, 1308, 1309, 1500, 1999, 2000, 2001, 4000, 8999, 9000) if n <= self.large]
        for n in sizes:
            self.cuts("%d octets" % n, self.four(n - 20))
        for name, options in (("copied", b"\x94\x04\0\0"), ("not copied", b"\x5e\x04ab"), ("of both kinds", b"\x5e\x04ab\x94\x04\0\0\x07\x07\x04\0\0\0\0\0"),
                              ("of 40 octets", b"\x5e\x28" + bytes(38)), ("copied, of 40 octets", b"\xde\x28" + bytes(38)), ("behind the end", b"\0\x94\x04\0"),
                              ("with a wrong length", b"\x94\x04\0\0\x07\x20\0\0")):
            self.cuts("options " + name, self.four(self.big, options=options))
        for field in (0x2000, 0x2001, 100, 0x2064, 0x8000, 0x1fff - 300):
            self.cuts("flags and offset %#x" % field, self.four(self.big & ~7, fragment=field))
        for field, n in ((0x1fff, 1400), (0x1fff - 100, 1400), (8191 - 140, self.big)):
            self.drops("ends beyond 65,535 at %#x" % field, self.four(n, fragment=field), "fragment-end")
        for n in [n for n in (1301, 2000, 9000) if n <= self.large]:
            self.fails("DF, %d octets" % n, self.four(n - 20, fragment=0x4000), "too-big", 3, 4, SMALL)
        self.fails("DF with options", self.four(self.big, fragment=0x4000, options=b"\1" * 8), "too-big", 3, 4, SMALL)
        self.drops("DF of an ICMP error", ip4(self.src4(), self.dst4(), b"\x03\1" + bytes(self.big), proto=ICMP, fragment=0x4000), "too-big")
        self.fails("TTL 1 before the size", self.four(self.big, ttl=1), "ttl-expired", 11, 0)

    def cuts(self, name, ip):
        parts = fragments(forwarded(ip), SMALL)
        self.add("fragmented: " + name, self.into(ip), out=[self.ether("o", p) for p in parts], pieces=len(parts))

    # ---- IPv6 ----

    def forward6(self):
        for n in (0, 1, 2, 8, 20, 26, 100, 1000, 1239, 1240, 1259, 1260):
            self.passes("IPv6 of %d octets" % (40 + n), self.six(n))
        for hops in (2, 3, 64, 254, 255):
            self.passes("hop limit %d" % hops, self.six(hops=hops))
        for flow in (1, 0xfffff, 0x100000, 0x0b800000, 0x0ff00000, 0x0fffffff):
            self.passes("class and flow label %#x" % flow, self.six(flow=flow))
        for n in (1, 6, 60):
            self.passes("%d octets behind the packet" % n, self.six(20), behind=b"\xcc" * n)
        for n in (1400, self.large - 40):
            self.passes("IPv6 back by the same port, %d octets" % (40 + n), self.six(n, dst="2001:db8:a%dff::9" % self.n), side="i")
        for n in (2100, 8959):
            if self.large > n:
                self.passes("IPv6 jumbo of %d octets" % (40 + n), self.six(n, dst="2001:db8:a%dff::9" % self.n), side="i")

    def headers6(self):
        """RFC 8200 4: extension headers, RFC 5095."""
        hop, dest = b"\x11\0\1\4" + bytes(4), b"\x11\1\1\x0c" + bytes(12)
        rest = data(24, 99)
        for name, proto, payload in (("hop-by-hop options", 0, hop + rest), ("destination options", 60, dest + rest), ("routing type 2", 43, b"\x11\2\2\1" + bytes(20) + rest),
                                     ("routing type 3", 43, b"\x11\2\3\0" + bytes(20) + rest), ("routing type 4", 43, b"\x11\2\4\0" + bytes(20) + rest),
                                     ("fragment", 44, b"\x11\0\0\1\0\0\0\7" + rest), ("later fragment", 44, b"\x11\0\0\x10\0\0\0\7" + rest),
                                     ("authentication", 51, b"\x11\4" + bytes(22) + rest), ("encapsulating security", 50, rest), ("none", 59, b""),
                                     ("none, with data behind", 59, rest), ("unknown 200", 200, rest), ("experiment 253", 253, rest),
                                     ("two of options", 0, b"\x3c\0\1\4" + bytes(4) + dest + rest), ("hop-by-hop beyond the packet", 0, b"\x11\xff\1\4" + bytes(4) + rest),
                                     ("an unknown option to be reported", 0, b"\x11\0\xc2\4" + bytes(4) + rest)):
            self.passes("header: " + name, self.six(payload, proto=proto))
        zero = b"\x11\2\0\1" + bytes(20) + rest
        for name, proto, payload in (("", 43, zero), ("behind hop-by-hop", 0, b"\x2b\0\1\4" + bytes(4) + zero), ("behind destination options", 60, b"\x2b\1\1\x0c" + bytes(12) + zero),
                                     ("used up", 43, b"\x11\2\0\0" + bytes(20) + rest), ("behind type 4", 43, b"\x2b\0\4\0" + bytes(4) + zero)):
            self.drops("routing type 0 " + name, self.six(payload, proto=proto), "source-route")

    def faults6(self):
        good = self.six(40)
        for version in (0, 4, 5, 7, 15):
            self.drops("IPv6 with version %d" % version, bytes([version << 4]) + good[1:], "bad-version", kind=IP6)
        for n in (41, 100, 1400, 65535):
            self.drops("payload length %d of 40" % n, self.six(40, length=n), "bad-payload-length")
        for n in (1, 8, 39):
            self.drops("IPv6 header cut to %d octets" % n, good[:n], "too-short", kernel=True)
        for src in ("::", "::1", "ff02::1", "ff0e::1", "::ffff:1.2.3.4"):
            self.drops("source " + src, self.six(src=src), "bad-source")
        for src in ("2001:db8:%d::1" % self.n, "2001:db8:%d:1::1" % self.n):
            self.drops("source %s, an address of the router" % src, self.six(src=src), "own-source")
        for dst in ("::", "::1", "::ffff:1.2.3.4"):
            self.drops("destination " + dst, self.six(dst=dst), "bad-destination")
        for dst in ("ff02::1", "ff05::2", "ff0e::1"):
            self.drops("destination " + dst, self.six(dst=dst), "bad-destination", kernel=True)
        for src in ("fe80::1", "febf::1"):
            self.drops("source " + src, self.six(src=src), "link-scope")
        for src in ("fec0::1", "fc00::1", "64:ff9b::102:304", "4000::1"):
            self.passes("source " + src, self.six(src=src))

    def ends6(self):
        """RFC 4443 2.4, 3."""
        for hops in (0, 1):
            self.fails("hop limit %d" % hops, self.six(30, hops=hops), "ttl-expired", 3, 0)
        self.fails("hop limit 1 of TCP", self.six(30, hops=1, proto=TCP), "ttl-expired", 3, 0)
        self.fails("hop limit 1 of a first fragment", self.six(b"\x11\0\0\1\0\0\0\7" + data(24, 3), hops=1, proto=44), "ttl-expired", 3, 0)
        self.fails("hop limit 1 of a later fragment", self.six(b"\x11\0\0\x11\0\0\0\7" + data(24, 3), hops=1, proto=44), "ttl-expired", 3, 0)
        self.fails("hop limit 1 of a later fragment of ICMPv6", self.six(b"\x3a\0\0\x11\0\0\0\7" + data(24, 3), hops=1, proto=44), "ttl-expired", 3, 0)
        for kind, name, answered in ((128, "echo request", True), (129, "echo reply", True), (135, "solicitation", True), (1, "unreachable", False), (3, "time exceeded", False),
                                     (127, "error 127", False), (137, "redirect", False)):
            ip = self.six(bytes([kind, 0]) + data(30, kind), hops=1, proto=ICMP6)
            if answered:
                self.fails("hop limit 1 of ICMPv6 " + name, ip, "ttl-expired", 3, 0)
            else:
                self.drops("hop limit 1 of ICMPv6 " + name, ip, "ttl-expired")
        self.drops("hop limit 1 of an error behind options", self.six(b"\x3a\0\1\4" + bytes(4) + b"\1\0" + bytes(30), hops=1, proto=60), "ttl-expired")
        for n in (0, 100, 1191, 1192, 1193, self.large - 40):
            self.fails("IPv6 without a route, %d octets" % (40 + n), self.six(n, dst="3000::1"), "no-route", 1, 0)
        self.drops("no route for an ICMPv6 error", self.six(b"\1\0" + bytes(30), dst="3000::1", proto=ICMP6), "no-route")
        for n in [n for n in (1301, 1500, 2000, 9000) if n <= self.large]:
            self.fails("IPv6 of %d octets" % n, self.six(n - 40), "too-big", 2, 0, SMALL)
        self.drops("too big, and an ICMPv6 error", self.six(b"\1\0" + bytes(self.big - 20), proto=ICMP6), "too-big")
        self.fails("hop limit 1 before the size", self.six(self.big, hops=1), "ttl-expired", 3, 0)
        self.drops("blackhole of IPv6", self.six(dst="2001:db8:d000::1"), "blackhole")
        self.fails("an IPv6 neighbour that does not answer for 3 s", self.six(dst="2001:db8:c%d00::1" % self.n), "unresolved", 1, 3)

    # ---- the link ----

    def frames(self):
        for tag in (0, 0x2000, 0x7000, 0xe000, 0x1000):  # IEEE 802.1Q 6.9
            for ip in (self.four(), self.six()):
                self.add("VLAN 0, %#x, IPv%d" % (tag, ip[0] >> 4), self.into(struct.pack("!H", tag) + (IP4 if ip[0] >> 4 == 4 else IP6) + ip, kind=VLAN),
                         out=[self.ether("o", forwarded(ip))])
        ip = self.four(ttl=1)
        self.add("VLAN 0, TTL 1", self.into(b"\0\0" + IP4 + ip, kind=VLAN), drop="ttl-expired", error=True,
                 out=[self.ether("i", error4("10.%d.0.1" % self.n, ip, 11, 0))])
        for name, frame in (("VLAN 5", self.into(b"\0\5" + IP4 + self.four(), kind=VLAN)), ("VLAN 0 twice", self.into(b"\0\0" + VLAN + b"\0\0" + IP4 + self.four(), kind=VLAN)),
                            ("an unknown EtherType", self.into(bytes(46), kind=b"\x88\xb5")), ("a length instead of an EtherType", self.into(bytes(46), kind=b"\0\x2e")),
                            ("IPv4 by broadcast", self.into(self.four(), to=b"\xff" * 6)), ("IPv6 by multicast", self.into(self.six(), to=b"\x33\x33\0\0\0\x63"))):
            self.add(name, frame, kernel=True)
        for ip in (self.four(), self.six()):
            self.drops("IPv%d to another Ethernet address" % (ip[0] >> 4), ip, "other-host", to=b"\x02\0\0\0\0\x77")
        for label in (b"\0\x06\x41\x40", b"\0\0\x01\x40"):
            self.drops("a label " + label.hex(), label + self.four(), "mpls-port", kind=b"\x88\x47")


# ---- the run ----

class Wire:
    def __init__(self, lab, rpc, kind):
        self.rpc, self.kind, self.socks, self.spare = rpc, kind, {}, []
        self.mac = {side: bytes.fromhex(lab.sh("rt", "cat /sys/class/net/%s%s/address" % (kind, side)).strip().replace(":", "")) for side in "io"}
        for side in "io":
            self.socks[side] = in_netns(lab.netns("far"), lambda: self.open("f%s%s" % (kind, side)))

    @staticmethod
    def open(interface):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        s.bind((interface, 3))
        s.setblocking(False)
        return s

    def close(self):
        for s in self.socks.values():
            s.close()

    def stats(self):
        s = self.rpc.call("dataplane.stats")
        w = s["workers"][0]
        return {"drops": w["drops"], "forwarded": w["forwarded"], "fragments": w["fragments"], "errors": w["icmp_errors"], "punted": w["punted"],
                "rx": next(p["rx_packets"] for p in s["ports"] if p["name"] == self.kind + "i")}

    def receive(self):
        """Frames that came, without those of the kernel for its neighbours."""
        for side, s in self.socks.items():
            while True:
                try:
                    f, address = s.recvfrom(65536)
                except BlockingIOError:
                    break
                own = f[12:14] == b"\x08\x06" or (f[12:14] == IP6 and (f[22:24] == b"\xfe\x80" or f[22:38] == bytes(16) or f[38:39] == b"\xff"))
                if address[2] != 4 and not own:  # PACKET_OUTGOING
                    self.spare.append((side, f))

    def change(self, before):
        now = self.stats()
        drops = {r: n - before["drops"].get(r, 0) for r, n in now["drops"].items() if n != before["drops"].get(r, 0)}
        return {k: now[k] - before[k] for k in now if k != "drops"}, drops

    def play(self, checks, reason, cases):
        """Sends the cases of a group, and compares all that leaves and all counters."""
        before, what = self.stats(), "%s: %d x %s" % (self.kind, len(cases), reason)
        wanted = [(c, o) for c in cases for o in c.out]
        drops = {}
        for c in cases:
            if c.drop:
                drops[c.drop] = drops.get(c.drop, 0) + 1
            self.socks["i"].send(c.frame)
        to_worker = [c for c in cases if not (c.kernel and self.kind == "xdp")]
        expected = {"forwarded": sum(1 for c in cases if c.out and not c.drop), "fragments": sum(c.pieces for c in cases), "errors": sum(c.error for c in cases),
                    "punted": sum(c.kernel for c in cases) if self.kind != "xdp" else 0, "rx": len(to_worker)}
        seen = None

        def all_there():
            nonlocal seen
            self.receive()
            seen = self.change(before)
            return len(self.spare) >= len(wanted) and seen == (expected, drops)

        try:
            wait_for(what, all_there, 5, poll=0.002)
        except TimeoutError:
            pass
        checks.equal(what + ": counters", seen, (expected, drops))
        missing = []
        for c, o in wanted:
            if o in self.spare:
                self.spare.remove(o)
            else:
                missing.append((c, o))
        for c, (side, frame) in missing[:5]:
            near = next((f for s, f in self.spare if s == side), b"")
            print("     %s (%s): expected %s" % (c.name, side, frame[:90].hex(" ")))
            print("     %s sent %s" % (" " * len(c.name), c.frame[:90].hex(" ")))
            print("     %s came %d octets for %d: %s" % (" " * len(c.name), len(near), len(frame), near[:90].hex(" ")))
        if missing or self.spare:
            print("     cases: " + "; ".join(c.name for c in cases))
        checks.true(what + ": each frame that leaves", not missing and not self.spare, "%d missing, %d unexpected" % (len(missing), len(self.spare)))
        self.spare.clear()


def topology(lab):
    for h in ("rt", "far"):
        lab.host(h, ipv6=h == "rt")
    for side, nic in zip("io", NICS):
        lab.move(nic[2], "far", "fpci" + side)
    for side in "io" if "xdp" in KINDS else "":
        lab.link("far", "fxdp" + side, None, "rt", "xdp" + side, None)
        lab.link("far", "fmemif" + side, None, "far", "bmemif" + side, None)
        lab.sh("far", "ip link set bmemif%s mtu %d" % (side, LARGE["memif"]))


def far_ends(checks, lab):
    """Taps move to the far side; bridges connect memif. Neighbours are static, so nobody answers on the far side."""
    bridges, others = [], cpus_of_lab()[1]
    for side in "io" if "tap" in KINDS else "":
        name = "ftap" + side
        checks.equal("the device %s has the MTU of its port" % name, lab.sh("rt", "cat /sys/class/net/%s/mtu" % name).strip(), str(SMALL if side == "o" else LARGE["tap"]))
        lab.sh("rt", "ip link set %s netns %s" % (name, lab.netns("far")))
        bridges.append(lab.spawn("bridge" + side, "far", [BRIDGE, str(others[0]), "net_pcap0,iface=bmemif" + side,
                                                          "net_memif0,role=client,id=%d,socket=%s/memif%s.sock,socket-abstract=no" % ("io".index(side), lab.dir, side)],
                                 cpus=others, lines=True))
    for b in bridges:
        while b.line(60) != "up\n":
            b.must_run()
    for kind, n in KINDS.items():
        for s, side in enumerate("io"):
            lab.sh("far", "ip link set f%s%s mtu %d promisc on up" % (kind, side, LARGE[kind]))
            lab.sh("rt", "; ".join("ip neigh replace %s lladdr %s dev %s%s nud permanent" % (a, NEIGHBOR[side].hex(":"), kind, side)
                                   for a in ("10.%d.%d.2" % (n, s), "2001:db8:%d:%d::2" % (n, s))))


def ready(rpc):
    """All routes have neighbours, and all ports a link."""
    def up():
        for kind, n in KINDS.items():
            for a in ("20.%d.0.9" % n, "30.%d.0.9" % n, "2001:db8:b%d00::9" % n, "2001:db8:a%d00::9" % n):
                if [p["state"] for p in rpc.call("fib.lookup", address=a)["paths"]] != ["up"]:
                    return False
        return True
    wait_for("neighbours", up, 30)


def cpu_ns(thread):
    with open(thread + "/schedstat") as f:
        return int(f.read().split()[0])


def losses(checks, lab, wire, rpc):
    """A frame that does not fit the driver's buffer is a loss under its name, in dataplane.stats and in /metrics, beside the counters of the driver."""
    def port():
        return next(p for p in rpc.call("dataplane.stats")["ports"] if p["name"] == wire.kind + "i")

    before = port()
    checks.equal(wire.kind + ": the driver has counters of its own", {"rx_good_packets", "tx_good_packets", "rx_errors"} <= set(before["driver"]), True)
    checks.equal(wire.kind + ": they agree with those of the port", before["driver"]["rx_good_packets"], before["rx_packets"])
    if wire.kind == "xdp":  # a veth accepts no frame that is longer than a buffer of AF_XDP
        return
    lab.sh("far", "ip link set f%si mtu 3000" % wire.kind)
    wire.socks["i"].send(wire.mac["i"] + NEIGHBOR["i"] + IP4 + bytes(2500))
    reason = "rx-error"
    checks.comes_to("%s: a frame of 2,514 octets counts as %s" % (wire.kind, reason), lambda: port()["drops"][reason] - before["drops"][reason], 1, 5)
    page = urllib.request.Request("http://127.0.0.1:9179/metrics", headers={"Accept": "application/openmetrics-text"})
    text = in_netns(lab.netns("rt"), lambda: urllib.request.urlopen(page).read().decode())
    for line in ('keel_port_drops_total{port="%si",reason="%s"}' % (wire.kind, reason), 'keel_port_driver_total{port="%si",counter="rx_good_packets"}' % wire.kind):
        checks.true("/metrics has " + line, line in text)


def idle(checks, rpc, wire, probe):
    """A worker at rest uses at most 5 % of a CPU; each first packet is forwarded. `dataplane.idle` of this keeld is `adaptive`."""
    task = "/proc/%d/task" % forwarder_of(rpc)
    worker = next(p for p in (os.path.join(task, t) for t in os.listdir(task)) if open(p + "/comm").read().startswith("keel-worker"))
    share = 1
    for _ in range(5):  # other processes make each wakeup longer: the best of some tries
        before, begin = cpu_ns(worker), time.monotonic()
        time.sleep(1)  # the duration that is measured
        share = min(share, (cpu_ns(worker) - before) / 1e9 / (time.monotonic() - begin))
        if share <= 0.05:
            break
    checks.true("a worker at rest uses at most 5 % of a CPU", share <= 0.05, "%.1f %%" % (100 * share))
    print("     CPU at rest: %.1f %%" % (100 * share))
    late = []
    for _ in range(20):
        time.sleep(0.02)  # the rest before a first packet
        begin = time.monotonic()
        wire.socks["i"].send(probe.frame)
        wait_for("a first packet", lambda: (wire.receive(), wire.spare)[1], 5, poll=0)
        late.append(time.monotonic() - begin)
        wire.spare.clear()
    print("     first packets after rest: median %.0f us, at most %.0f us" % (1e6 * sorted(late)[10], 1e6 * max(late)))


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        topology(lab)
        daemon, rpc = lab.keeld("rt", config(lab.dir), KEELD)
        far_ends(checks, lab)
        ready(rpc)
        checks.equal("no alarm names a port", [a for a in rpc.call("system.info")["alarms"] if a["kind"] == "port-mtu"], [])
        begin, total = time.monotonic(), 0
        for kind in KINDS:
            wire = Wire(lab, rpc, kind)
            cases, groups = Cases(kind, wire.mac), {}
            for c in cases.list:
                groups.setdefault(c.group(), []).append(c)
            probe = cases.list[0]  # until the path through the far side works
            wait_for("a frame through " + kind, lambda: (wire.socks["i"].send(probe.frame), wire.receive(), wire.spare)[2], 30, poll=0.1)
            marker = cases.list[1]  # comes after all probes
            wire.socks["i"].send(marker.frame)
            wait_for("the end of the probes", lambda: (wire.receive(), marker.out[0] in wire.spare)[1], 30)
            last = None
            while last != (last := (wire.receive(), wire.stats())[1]):
                time.sleep(0.1)  # frames under way have no event
            wire.spare.clear()
            for (reason, error), members in groups.items():
                for at in range(0, len(members), 20 if error else 60):
                    wire.play(checks, reason + (", answered" if error else ""), members[at:at + (20 if error else 60)])
            checks.true("%s: %d cases" % (kind, len(cases.list)), len(cases.list) >= 250, len(cases.list))
            total += len(cases.list)
            if kind == "xdp":
                idle(checks, rpc, wire, probe)
            if kind in ("xdp", "tap"):
                losses(checks, lab, wire, rpc)
            wire.close()
        print("%d cases in %.1f s" % (total, time.monotonic() - begin))
        rpc.close()
        checks.equal("keeld stops in order", daemon.stop(), 0)


if __name__ == "__main__":
    need("ip", "ethtool", files=(KEELD, BRIDGE))
    sys.exit(labtest.main(test))
