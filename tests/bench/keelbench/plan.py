# SPDX-License-Identifier: BSD-3-Clause
"""The plan for the router under test: links, peers and policies, as data. Adapters write the configuration of a daemon; for a box on a wire the
plan is printed for the operator."""
import collections
import ipaddress
import os
import sys

from bench_lab import ROOT
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from demo import THIRD  # noqa: E402

V4, V6 = "ipv4-unicast", "ipv6-unicast"
ASN = 64999
FEED_ASNS = {"a": 64601, "b": 64602}
ASKING_ASN, PROBER_ASN, SINK_ASN = 65001, 65501, 65601
# THIRD: origin ASes that end in 00 to 32, a third of all origins. A policy change moves this third from A to B.
LOCAL_PREF = {"a": 100, "b": 90, "moved": 200}

# Between the router and a namespace of ours. `router`, `ours`: {family: address}.
Link = collections.namedtuple("Link", "name host router ours")
# imports: "from-a", "from-b", "all" or None; exports: True if the peer receives all routes. `keep`: received routes are kept beside the result of the
# policy.
Peer = collections.namedtuple("Peer", "address router asn family imports exports hold keep link", defaults=(90, False, "src"))


def addresses(first, count):
    """`first` and the following addresses, counted like crowd."""
    a, b, c, d = map(int, first.split("."))
    n = (a << 24) + (b << 16) + (c << 8) + d
    return [".".join(str((n + i) >> s & 255) for s in (24, 16, 8, 0)) for i in range(count)]


def offset(address, by):
    return addresses(address, by + 1)[by]


class Plan:
    """Three links: `src` (incoming traffic; sessions of the asking peers, the prober and the receiver), `upa` and `upb` (the two feeds of the
    table)."""

    def __init__(self, router=None, ours=None, router6=None, ours6=None, asn=ASN, asking=20, hold=90, ipv6=True, one_link=False, keep=True):
        router = router or ["198.18.%d.1" % n for n in range(3)]
        ours = ours or ["198.18.%d.2" % n for n in range(3)]
        router6 = router6 or ["2001:db8:%d::1" % n for n in range(3)]
        ours6 = ours6 or ["2001:db8:%d::2" % n for n in range(3)]
        router6, ours6 = ([str(ipaddress.ip_address(a)) for a in x] for x in (router6, ours6))  # in canonical form
        self.asn, self.router_id, self.ipv6, self.one_link = asn, router[0], ipv6, one_link
        self.links = [Link(name, host, {V4: router[i], V6: router6[i]}, {V4: ours[i], V6: ours6[i]})
                      for i, (name, host) in enumerate((("src", "src"), ("upa", "pa"), ("upb", "pb"))) if not (one_link and i)]
        first = self.links[0]
        self.families = [V4, V6] if ipv6 else [V4]
        self.feeds = {}
        for i, name in enumerate("ab"):
            link = self.links[0 if one_link else i + 1]
            for f in self.families:
                address = offset(link.ours[f], 10 + i) if one_link else link.ours[f]
                self.feeds[name, f] = Peer(address, link.router[f], FEED_ASNS[name], f, "from-" + name, False, 90, keep, link.name)
        self.asking = [Peer(a, first.router[V4], ASKING_ASN + i, V4, None, True, hold)
                       for i, a in enumerate(addresses(offset(first.ours[V4], 100), asking))]
        self.prober = [Peer(a, first.router[V4], PROBER_ASN + i, V4, "all", True) for i, a in enumerate(addresses(offset(first.ours[V4], 90), 2))]
        self.sink = Peer(offset(first.ours[V4], 80), first.router[V4], SINK_ASN, V4, None, True)

    def peers(self):
        return [*self.feeds.values(), *self.asking, *self.prober, self.sink]

    def host_addresses(self, link):
        """Addresses of our end of a link, with lengths."""
        mine = [p.address for p in self.peers() if p.link == link.name and p.family == V4]
        out = ["%s/24" % a for a in dict.fromkeys([link.ours[V4], *mine])]
        if self.ipv6:
            out.append("%s/64" % link.ours[V6])
        return out

    def describe(self):
        """Instructions for the operator of a box on a wire."""
        out = ["Configure the router under test like this:", "  local AS %d, router id %s; forwarding on" % (self.asn, self.router_id)]
        for link in self.links:
            out.append("  link %-4s its address %s/24%s, ours %s" % (
                link.name, link.router[V4], ", %s/64" % link.router[V6] if self.ipv6 else "", link.ours[V4] + (", " + link.ours[V6] if self.ipv6 else "")))
        out.append("  policies: from-a accepts all with local preference %(a)d, from-b with %(b)d" % LOCAL_PREF)
        out.append("  the flip (--flip COMMAND gets 1 or 0 as its argument): with 1, from-b gives %d to routes whose AS path ends in a number that matches %s"
                   % (LOCAL_PREF["moved"], THIRD))
        out.append("  peers (external, one hop; they connect to TCP 179; accept routes whose first AS is not the peer's):")
        for p in [*self.feeds.values(), *self.prober, self.sink]:
            out.append("    %-24s AS %-6d %-13s import %-7s export %s%s" % (
                p.address, p.asn, p.family, p.imports or "nothing", "all" if p.exports else "nothing",
                "; keep its routes (soft reconfiguration)" if p.keep else ""))
        if self.asking:
            p = self.asking[0]
            out.append("    %s to %s: AS %d for the first, one more for each; %s import nothing export all; hold time %d" % (
                p.address, self.asking[-1].address, p.asn, p.family, p.hold))
        return "\n".join(out)
