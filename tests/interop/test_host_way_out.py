#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host's own way out: keeld between two BIRDs. Pings to its loopback and port addresses from hosts that are hops away, a BGP session with a peer
beyond a routed hop between loopback addresses, both families, and nothing left behind.

    f --- a (BIRD, 64601) --- rt (keeld, 64512) --- b (BIRD, 64602) --- g (BIRD, 64603)
"""
import re

import interop
from interop import KEELD, Lab, need, out_folder, wait_established
from lab import cpus_of_lab

NAME = "host_way_out"
V4, V6 = "ipv4-unicast", "ipv6-unicast"
BOTH = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}, V6: {"import_policy": "accept-all", "export_policy": "accept-all"}}
LO4, LO6 = "10.255.0.1", "2001:db8:ff::1"
COMMON = """
router id %s;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
"""
SESSION = """
protocol bgp keel%d { local %s as %d; neighbor %s as 64512; connect retry time 1; connect delay time 1; error wait time 1, 2;
  %s { import all; export all; %s}; %s }
"""


def router(rid, asn, n):
    """A BIRD beside keeld, network n: one session a family."""
    return COMMON % rid + SESSION % (4, "10.%d.0.2" % n, asn, "10.%d.0.1" % n, "ipv4", "next hop self; ", "") + \
        SESSION % (6, "2001:db8:%d::2" % n, asn, "2001:db8:%d::1" % n, "ipv6", "next hop self; ", "")


FAR = """
router id 10.255.0.7;
protocol device { }
protocol static s4 { ipv4; route 198.51.100.0/24 blackhole; }
protocol static s6 { ipv6; route 2001:db8:700::/48 blackhole; }
""" + SESSION % (4, "10.255.0.7", 64603, LO4, "ipv4", "", "multihop 5;") + \
    SESSION % (6, "2001:db8:ff::7", 64603, LO6, "ipv6", "", "multihop 5;")


def keel(worker, others):
    def session(address, asn, family, **more):
        return dict({"address": address, "asn": asn, "families": {family: BOTH[family]}, "timers": {"connect_retry_s": 1}}, **more)

    return {
        "router": {"asn": 64512, "router_id": LO4},
        "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
        "loopback_addresses": [LO4 + "/32", LO6 + "/128"],
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": ["10.%d.0.1/24" % i, "2001:db8:%d::1/64" % i]}
                  for n, i in (("pa", 1), ("pb", 2))],
        "bgp": {
            "redistribute": [{"source": "connected"}],
            "peers": [session("10.1.0.2", 64601, V4), session("2001:db8:1::2", 64601, V6), session("10.2.0.2", 64602, V4),
                      session("2001:db8:2::2", 64602, V6), session("10.255.0.7", 64603, V4, multihop=5, source=LO4),
                      session("2001:db8:ff::7", 64603, V6, multihop=5, source=LO6)]}}


def topology(lab):
    for h in ("f", "a", "rt", "b", "g"):
        lab.host(h, forward=h in "ab")
        lab.sh(h, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0 "
                  "net.ipv6.conf.all.forwarding=%d" % (h in "ab"))
    lab.link("f", "up", "10.10.1.2/24", "a", "far", "10.10.1.1/24")
    lab.link("a", "keel", "10.1.0.2/24", "rt", "pa", None)
    lab.link("b", "keel", "10.2.0.2/24", "rt", "pb", None)
    lab.link("g", "up", "10.20.1.2/24", "b", "far", "10.20.1.1/24")
    for h, dev, address in (("f", "up", "2001:db8:a::2"), ("a", "far", "2001:db8:a::1"), ("a", "keel", "2001:db8:1::2"), ("b", "keel", "2001:db8:2::2"),
                            ("g", "up", "2001:db8:b::2"), ("b", "far", "2001:db8:b::1")):
        lab.sh(h, "ip address add %s/64 dev %s" % (address, dev))
    lab.sh("f", "ip route add default via 10.10.1.1; ip -6 route add default via 2001:db8:a::1")
    lab.sh("g", "ip address add 10.255.0.7/32 dev lo; ip address add 2001:db8:ff::7/128 dev lo; ip address add 198.51.100.1/32 dev lo; "
                "ip address add 2001:db8:700::1/128 dev lo; ip route add default via 10.20.1.1; ip -6 route add default via 2001:db8:b::1")
    # b would send what is g's back to keeld, from which it has the better route: it is on the way, and no peer of g.
    lab.sh("b", "ip route add 198.51.100.0/24 via 10.20.1.2; ip -6 route add 2001:db8:700::/48 via 2001:db8:b::2 metric 1")


def host_state(lab):
    """What keeld must leave as it found it."""
    return {what: re.sub(r"\d+sec|id:\d+|qlen \d+", "", lab.sh("rt", command, check=False)) for what, command in {
        "links": "ip -o link show | sed 's/^[0-9]*: //; s/ .*//'", "rules": "ip rule; ip -6 rule", "routes": "ip route show default; ip -6 route show default",
        "sysctls": "sysctl -a 2>/dev/null | grep -E 'conf\\.(all|pa|pb|default)\\.' | grep -vE 'stable_secret|mc_'"}.items()}


def pings(c, lab, what, host, address, timeout=15):
    def answered():
        out = lab.sh(host, "ping -n -c 2 -i 0.2 -W 1 %s" % address, check=False)
        return " 0% packet loss" in out, out.strip().splitlines()[-2:]
    c.eventually("%s: ping from %s to %s" % (what, host, address), answered, timeout)


def reaches(c, lab):
    for host in ("a", "f", "b", "g"):
        for address in (LO4, LO6, "10.1.0.1", "10.2.0.1", "2001:db8:1::1", "2001:db8:2::1"):
            pings(c, lab, "a router's own address", host, address)
    pings(c, lab, "across the router", "f", "10.20.1.2")
    pings(c, lab, "across the router", "f", "2001:db8:b::2")
    # What leaves carries the loopback's address and keeps its TTL: a is one hop away, f two.
    for source, target in ((LO4, "10.10.1.2"), (LO6, "2001:db8:a::2"), (LO4, "10.20.1.2"), (LO6, "2001:db8:b::2")):
        pings(c, lab, "out of the router", "rt", "-I %s %s" % (source, target))
    pings(c, lab, "out of the router, source chosen by the kernel", "rt", "10.10.1.2")
    pings(c, lab, "out of the router, source chosen by the kernel", "rt", "2001:db8:a::2")
    out = lab.sh("rt", "ping -n -c 1 -t 2 -W 2 10.10.1.2", check=False)
    c.true("two hops need a TTL of two", " 0% packet loss" in out, out)
    out = lab.sh("rt", "ping -n -c 1 -t 1 -W 2 10.10.1.2", check=False)
    c.true("and not one", "Time to live exceeded" in out or "100% packet loss" in out, out)
    out = lab.sh("f", "ping -n -c 2 -s 1400 -W 2 %s" % LO4, check=False)
    c.true("long packets, too", " 0% packet loss" in out, out)


def test(checks):
    worker, others = cpus_of_lab()
    with Lab(out_folder(NAME)) as lab:
        topology(lab)
        before = host_state(lab)
        keeld, rpc = lab.keeld("rt", keel(worker, others), KEELD)
        lab.bird("a", router("10.255.0.2", 64601, 1))
        lab.bird("b", router("10.255.0.3", 64602, 2) + """
protocol static far4 { ipv4; route 10.255.0.7/32 via 10.20.1.2; }
protocol static far6 { ipv6; route 2001:db8:ff::7/128 via 2001:db8:b::2; }
""")
        lab.bird("g", FAR)
        wait_established(rpc, "10.1.0.2", "10.2.0.2", "2001:db8:1::2", "2001:db8:2::2")
        reaches(checks, lab)
        wait_established(rpc, "10.255.0.7", "2001:db8:ff::7")
        checks.true("sessions between loopback addresses, two hops apart", True)
        # What that peer announces is behind its loopback address, which BGP itself knows.
        pings(checks, lab, "behind the multihop peer", "f", "198.51.100.1")
        pings(checks, lab, "behind the multihop peer", "f", "2001:db8:700::1")
        checks.equal("keeld ends in order", keeld.stop(), 0)
        checks.equal("the host is as before", host_state(lab), before)


if __name__ == "__main__":
    need("ip", "bird", "birdc", "ping", "ethtool", files=[KEELD])
    raise SystemExit(interop.main(test))
