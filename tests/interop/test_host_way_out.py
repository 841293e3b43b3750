#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Packets of the host itself: keeld between two BIRDs. Pings to its loopback and port addresses from hosts several hops away, a BGP session
between loopback addresses with a peer beyond a routed hop, static and kernel routes, both families; a killed keeld, two keelds on one host, and
no leftovers. The router has a management interface with a default route: packets of the router's addresses leave by keeld's routes, those of the management
address, and packets without a source, by management.
"""
import re

import os
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import KEELCTL, KEELD, Lab, commit, need, out_folder, peer, wait_established
from lab import cpus_of_lab

NAME = "host_way_out"
V4, V6 = "ipv4-unicast", "ipv6-unicast"
BOTH = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}, V6: {"import_policy": "accept-all", "export_policy": "accept-all"}}
LO4, LO6 = "10.255.0.1", "2001:db8:ff::1"
COMMON = """
router id %s;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; interface "-lo", "*"; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
"""
SESSION = """
protocol bgp keel%d { local %s as %d; neighbor %s as 64512; connect retry time 1; connect delay time 1; error wait time 1, 2;
  %s { import all; export all; %s}; %s }
"""


def router(rid, asn, n):
    """Configuration of a BIRD connected to keeld by network n, with a session for each family."""
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
        "static_routes": [{"prefix": "198.18.50.0/24", "next_hop": "10.2.0.2"}, {"prefix": "2001:db8:50::/48", "next_hop": "fe80::b%pb"},
                          {"prefix": "198.18.51.0/24", "blackhole": True}, {"prefix": "198.18.52.0/24", "next_hop": "203.0.113.1"}],
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": ["10.%d.0.1/24" % i, "2001:db8:%d::1/64" % i]}
                  for n, i in (("pa", 1), ("pb", 2))],
        "bgp": {
            "redistribute": [{"source": "connected"}, {"source": "static"}, {"source": "kernel"}],
            "peers": [session("10.1.0.2", 64601, V4), session("2001:db8:1::2", 64601, V6), session("10.2.0.2", 64602, V4),
                      session("2001:db8:2::2", 64602, V6), session("10.255.0.7", 64603, V4, multihop=5, source=LO4),
                      session("2001:db8:ff::7", 64603, V6, multihop=5, source=LO6)]}}


def topology(lab):
    for h in ("f", "a", "rt", "b", "g", "m"):
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
    lab.link("m", "rt", ["10.99.0.2/24", "2001:db8:99::2/64"], "rt", "mgmt", ["10.99.0.1/24", "2001:db8:99::1/64"])
    lab.sh("m", "ip address add 203.0.113.9/32 dev lo; ip address add 2001:db8:999::9/128 dev lo")
    lab.sh("rt", "ip route add default via 10.99.0.2; ip -6 route add default via 2001:db8:99::2")
    for n in "56":
        lab.sh("b", "ip address add 198.18.%s0.1/32 dev lo; ip address add 2001:db8:%s0::1/128 dev lo" % (n, n))
    lab.sh("b", "ip address add fe80::b/64 dev keel")
    lab.sh("f", "ip route add default via 10.10.1.1; ip -6 route add default via 2001:db8:a::1")
    lab.sh("g", "ip address add 10.255.0.7/32 dev lo; ip address add 2001:db8:ff::7/128 dev lo; ip address add 198.51.100.1/32 dev lo; "
                "ip address add 2001:db8:700::1/128 dev lo; ip route add default via 10.20.1.1; ip -6 route add default via 2001:db8:b::1")
    # b would return packets for g to keeld, from which b has the better route: b is a hop on the way, and no peer of g.
    lab.sh("b", "ip route add 198.51.100.0/24 via 10.20.1.2; ip -6 route add 2001:db8:700::/48 via 2001:db8:b::2 metric 1")


def host_state(lab):
    """State that keeld must restore."""
    return {what: re.sub(r"\d+sec|id:\d+|qlen \d+", "", lab.sh("rt", command, check=False)) for what, command in {
        "links": "ip -o link show 2>/dev/null | sed 's/^[0-9]*: //; s/ .*//'", "rules": "ip rule; ip -6 rule", "routes": "ip route show default; ip -6 route show default; (ip route show table 179; ip -6 route show table 179) 2>/dev/null",
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
    # Outgoing packets carry the loopback's address and keep their TTL: a is one hop away, f two.
    for source, target in ((LO4, "10.10.1.2"), (LO6, "2001:db8:a::2"), (LO4, "10.20.1.2"), (LO6, "2001:db8:b::2")):
        pings(c, lab, "out of the router", "rt", "-I %s %s" % (source, target))
    pings(c, lab, "out of the router, source chosen by the kernel", "rt", "10.1.0.2")
    pings(c, lab, "out of the router, source chosen by the kernel", "rt", "2001:db8:1::2")
    pings(c, lab, "two hops need a TTL of two", "rt", "-t 2 -I %s 10.10.1.2" % LO4)
    out = lab.sh("rt", "ping -n -c 1 -t 1 -W 2 -I %s 10.10.1.2" % LO4, check=False)
    c.true("and not one", "Time to live exceeded" in out or "100% packet loss" in out, out)
    pings(c, lab, "long packets, too", "f", "-s 1400 " + LO4)


ECHO = "import socket,sys\ns=socket.create_server(('::',22),family=socket.AF_INET6,dualstack_ipv6=True)\nwhile 1:\n c,a=s.accept();c.sendall(a[0].encode());c.close()"
CALL = "import socket,sys\ns=socket.create_connection((sys.argv[1],22),5,(sys.argv[2],0))\nprint(s.recv(99).decode())"


def management(c, lab):
    """TCP to port 22 (as SSH) of router and management addresses from behind each, and pings of the router without a source."""
    lab.spawn("echo", "rt", ["/usr/bin/python3", "-c", ECHO])

    def call(host, to, source):
        return lab.sh(host, "/usr/bin/python3 -c \"%s\" %s %s 2>&1" % (CALL, to, source), check=False).strip().splitlines()[-1].replace("::ffff:", "")

    for host, source, to in (("m", "203.0.113.9", "10.99.0.1"), ("m", "2001:db8:999::9", "2001:db8:99::1"), ("m", "10.99.0.2", "10.99.0.1"),
                             ("f", "10.10.1.2", LO4), ("f", "2001:db8:a::2", LO6), ("f", "10.10.1.2", "10.2.0.1"), ("f", "2001:db8:a::2", "2001:db8:2::1"),
                             ("a", "10.1.0.2", "10.1.0.1")):
        c.comes_to("TCP from %s to %s" % (source, to), lambda: call(host, to, source), source)
    for far in ("203.0.113.9", "2001:db8:999::9"):
        pings(c, lab, "a packet without a source leaves by management", "rt", far)
    for hops in (["10.10.1.1", LO4], ["10.10.1.1", "10.2.0.1"], ["10.10.1.1", "10.1.0.1", "10.2.0.2", "10.20.1.2"], ["2001:db8:a::1", LO6],
                 ["2001:db8:a::1", "2001:db8:2::1"], ["2001:db8:a::1", "2001:db8:1::1", "2001:db8:2::2", "2001:db8:b::2"]):
        c.comes_to("traceroute from f to %s" % hops[-1], lambda: trace(lab, "f", hops[-1]), hops)


TRACE = """
import select, socket, struct, sys
v6 = ":" in sys.argv[1]
level, ttl, recverr = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 25) if v6 else (socket.IPPROTO_IP, socket.IP_TTL, 11)
for n in range(1, 7):
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(level, ttl, n)
    s.setsockopt(level, recverr, 1)
    s.connect((sys.argv[1], 33434 + n))
    s.send(b"trace")
    p = select.poll()
    p.register(s, 0)
    if not p.poll(3000):
        print("*")
        continue
    for _, _, data in s.recvmsg(512, 512, socket.MSG_ERRQUEUE)[1]:
        kind = data[5]
        print(socket.inet_ntop(s.family, data[24:40] if v6 else data[20:24]))
    if kind == (1 if v6 else 3):
        break
"""


def trace(lab, host, target):
    """The hops as traceroute prints them, by UDP."""
    with open(lab.path("trace.py"), "w") as f:
        f.write(TRACE)
    return lab.sh(host, "/usr/bin/python3 %s %s 2>&1" % (lab.path("trace.py"), target), check=False).split()


def has_route(lab, host, prefix):
    return prefix in lab.sh(host, "ip route; ip -6 route")


def own_routes(c, lab, rpc):
    """Static routes and routes of the kernel's table: forwarded and advertised while present."""
    pings(c, lab, "by a static route", "f", "198.18.50.1")
    pings(c, lab, "by a static route with a link-local next hop", "f", "2001:db8:50::1")
    c.comes_to("static routes are announced", lambda: [has_route(lab, "a", p) for p in ("198.18.50.0/24", "2001:db8:50::/48", "198.18.51.0/24")],
               [True] * 3)
    c.equal("but not one whose next hop is nowhere", has_route(lab, "a", "198.18.52.0/24"), False)
    out = lab.sh("f", "ping -n -c 1 -W 1 198.18.51.1", check=False)
    c.true("a blackhole swallows", "100% packet loss" in out, out)
    lab.sh("rt", "ip route add 198.18.60.0/24 via 10.2.0.2; ip -6 route add 2001:db8:60::/48 via fe80::b dev pb; ip route add blackhole 198.18.61.0/24")
    pings(c, lab, "by a route of the kernel's", "f", "198.18.60.1")
    pings(c, lab, "by a route of the kernel's", "f", "2001:db8:60::1")
    c.comes_to("kernel routes are announced", lambda: [has_route(lab, "a", p) for p in ("198.18.60.0/24", "2001:db8:60::/48")], [True] * 2)
    lab.sh("b", "ip address add 198.18.70.1/32 dev lo; ip address add 2001:db8:70::1/128 dev lo; sysctl -qw net.ipv6.conf.keel.proxy_ndp=1; "
                "ip neighbour add proxy 2001:db8:70::1 dev keel")
    lab.sh("rt", "ip route add 198.18.70.1/32 dev pb; ip -6 route add 2001:db8:70::1/128 dev pb")
    for far in ("198.18.70.1", "2001:db8:70::1"):
        pings(c, lab, "by a host route without a gateway", "f", far)
    # a host of the link that has an address of a shorter route without a gateway does not take the address from a longer route
    lab.sh("b", "ip address add 198.18.50.7/32 dev lo")
    lab.sh("rt", "ip route add 198.18.0.0/16 dev pb; ping -n -c 1 -W 1 -I pb 198.18.50.7", check=False)
    c.equal("a longer route stays", rpc.call("fib.lookup", address="198.18.50.7")["prefix"], "198.18.50.0/24")
    lab.sh("rt", "ip route del 198.18.0.0/16 dev pb")
    lab.sh("rt", "ip route del 198.18.70.1/32 dev pb; ip -6 route del 2001:db8:70::1/128 dev pb")
    for far in ("198.18.70.1", "2001:db8:70::1"):
        c.comes_to("the host route to %s is gone" % far, lambda: rpc.call("fib.lookup", address=far)["prefix"], None)
    lab.sh("rt", "ip route del 198.18.60.0/24; ip -6 route del 2001:db8:60::/48; ip route del 198.18.61.0/24")
    commit(rpc, [{"op": "remove", "path": "/static_routes"}, {"op": "replace", "path": "/loopback_addresses", "value": [LO4 + "/32", LO6 + "/128", "10.255.0.9/32"]}])
    c.comes_to("what is gone is withdrawn", lambda: [has_route(lab, "a", p) for p in
                                                      ("198.18.60.0/24", "2001:db8:60::/48", "198.18.50.0/24", "2001:db8:50::/48", "198.18.51.0/24")],
               [False] * 5)
    for address in ("198.18.50.1", "198.18.60.1", "2001:db8:50::1"):
        c.comes_to("and from the tables: %s" % address, lambda: rpc.call("fib.lookup", address=address)["prefix"], None)
    pings(c, lab, "a loopback address of a commit", "f", "10.255.0.9")


BULK = "import socket,sys\ns=socket.create_connection((sys.argv[1],2222),9,(sys.argv[2],0))\ns.sendall(bytes(300000));s.shutdown(1);print(s.recv(9).decode())"
SINK = "import socket\ns=socket.create_server(('::',2222),family=socket.AF_INET6,dualstack_ipv6=True)\nwhile 1:\n c,a=s.accept();n=0\n while 1:\n  d=c.recv(65536);n+=len(d)\n  if not d: break\n c.sendall(b'%d'%n);c.close()"


def keel0_mtu(lab):
    return lab.sh("rt", "cat /sys/class/net/keel0/mtu").strip()


def own_mtu(c, lab, rpc):
    """keel0 follows the smallest port, of 1400 now. A port with less than IPv6 needs leaves keel0 at 1280: the workers tell the kernel what fits."""
    far = ("10.255.0.7", "2001:db8:ff::7")
    wait_established(rpc, *far)
    count = [peer(rpc, a)["established_count"] for a in far]
    lab.spawn("sink", "g", ["/usr/bin/python3", "-c", SINK])

    def bulk(source, to):
        return lab.sh("rt", "timeout 20 /usr/bin/python3 -c \"%s\" %s %s 2>&1" % (BULK, to, source), check=False).strip().splitlines()[-1]

    for mtu, keel0 in ((1400, "1400"), (1300, "1300"), (1500, "1500"), (1400, "1400"), (1000, "1280")):
        if mtu == 1000:
            c.equal("the sessions between loopbacks stay", [peer(rpc, a)["established_count"] for a in far], count)
        lab.sh("rt", "ip link set pb mtu %d" % mtu)
        c.comes_to("keel0 follows the port's MTU %d" % mtu, lambda: keel0_mtu(lab), keel0)
        c.comes_to("MTU %d: TCP of the router arrives, IPv4" % mtu, lambda: bulk(LO4, "10.255.0.7"), "300000")
        if mtu >= 1280:
            c.comes_to("MTU %d: TCP of the router arrives, IPv6" % mtu, lambda: bulk(LO6, "2001:db8:ff::7"), "300000")
    c.comes_to("the kernel learns what fits", lambda: "mtu = 1000" in lab.sh("rt", "ping -n -c 2 -i 0.2 -W 1 -M do -s 1200 -I %s 10.20.1.2 2>&1" % LO4, check=False) or
               "mtu=1000" in lab.sh("rt", "ping -n -c 1 -W 1 -M do -s 1200 -I %s 10.20.1.2 2>&1" % LO4, check=False), True)


def duplicate(c, lab, keeld, rpc):
    """An IPv6 address of the neighbour on a port is named by log, alarm and view, until it is removed, or good."""
    def alarms():
        return [(a["kind"], a["port"], a["address"]) for a in rpc.call("system.info")["alarms"] if a["kind"] == "duplicate-address"]

    def seen():
        return {p["name"]: p["duplicate_addresses"] for p in rpc.call("dataplane.stats")["ports"]}

    taken = "2001:db8:1::77"
    lab.sh("a", "ip address add %s/64 dev keel" % taken)
    lab.sh("rt", "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.pa.accept_dad=1; ip address add %s/64 dev pa" % taken)
    c.comes_to("the log names an address that another machine has", lambda: "duplicate-address interface=pa address=%s " % taken in keeld.logged(), True)
    c.comes_to("an alarm names port and address", alarms, [("duplicate-address", "pa", taken)])
    c.equal("dataplane.stats has it", seen(), {"pa": [taken], "pb": []})
    out = lab.sh("rt", "%s --socket %s show dataplane" % (KEELCTL, lab.path("keeld.sock")))
    c.true("show dataplane says so", "port pa: another machine has the address %s" % taken in out, out)
    lab.sh("rt", "ip address del %s/64 dev pa" % taken)
    c.comes_to("the alarm ends with the address", alarms, [])
    lab.sh("rt", "ip address add %s/64 dev pa" % taken)
    c.comes_to("it is there again with the address", alarms, [("duplicate-address", "pa", taken)])
    lab.sh("a", "ip address del %s/64 dev keel" % taken)
    lab.sh("rt", "ip address del %s/64 dev pa; ip address add %s/64 dev pa" % (taken, taken))
    c.comes_to("the alarm ends when the other machine has given up the address", alarms, [])
    c.equal("dataplane.stats has none", seen(), {"pa": [], "pb": []})
    lab.sh("rt", "ip address del %s/64 dev pa; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.pa.accept_dad=0" % taken)


def port_changes(c, lab, rpc):
    """Changes of the port's MAC address, MTU and link, with traffic."""
    lab.sh("rt", "ip link set pb address 02:00:00:00:99:01")
    pings(c, lab, "after the port got another MAC address", "f", "10.20.1.2")
    pings(c, lab, "after the port got another MAC address", "f", "2001:db8:b::2")
    pings(c, lab, "after the port got another MAC address", "g", LO6)
    lab.sh("rt", "ip link set pb mtu 1400")
    c.comes_to("a port's smaller MTU counts", lambda: "Frag needed" in lab.sh("f", "ping -n -c 1 -W 1 -M do -s 1400 10.20.1.2", check=False), True)
    own_mtu(c, lab, rpc)
    lab.sh("rt", "ip link set pb mtu 1500; ip address add 2001:db8:2::1/64 dev pb nodad")  # the kernel ended IPv6 below 1280
    c.comes_to("keel0 has the larger one", lambda: keel0_mtu(lab), "1500")
    c.comes_to("and its larger one again", lambda: " 0% packet loss" in lab.sh(
        "f", "ip route flush cache; ping -n -c 1 -W 1 -M do -s 1400 10.20.1.2", check=False), True)
    lab.sh("b", "ip link set keel down")
    c.comes_to("the port's link is down", lambda: rpc.call("fib.lookup", address="10.20.1.2")["prefix"] is None or
               all(p["state"] != "up" for p in rpc.call("fib.lookup", address="10.20.1.2")["paths"]), True)
    lab.sh("b", "ip link set keel up; ip address replace 2001:db8:2::2/64 dev keel; ip address replace fe80::b/64 dev keel")
    pings(c, lab, "after the link came back", "g", LO4, 30)
    pings(c, lab, "after the link came back", "g", LO6, 30)
    lab.sh("rt", "ip link set pa down; ip link set pa up; ip address add 10.2.8.1/24 dev pb")
    c.comes_to("the table of own packets follows links and addresses", lambda: sorted(line.split()[0] for line in lab.sh("rt", "ip route show table 179").splitlines()),
               sorted(["default", "10.1.0.0/24", "10.2.0.0/24", "10.2.8.0/24"]))
    # the address moves to the management interface: its packets leave as those of management
    lab.sh("rt", "ip address add 10.2.8.1/32 dev mgmt; ip address del 10.2.8.1/24 dev pb")
    c.comes_to("... also when an address goes", lambda: "10.2.8" in lab.sh("rt", "ip route show table 179; ip rule"), False)
    lab.sh("rt", "ip address del 10.2.8.1/32 dev mgmt; ip address del 10.2.0.1/24 dev pb; ip address add 10.2.0.1/24 dev pb")
    c.comes_to("... and comes at once again", lambda: "10.2.0.0/24" in lab.sh("rt", "ip route show table 179"), True)
    for addresses in ([LO6 + "/128"], [LO4 + "/32", LO6 + "/128"]):  # the kernel drops the IPv4 routes of keel0 with its last IPv4 address
        commit(rpc, [{"op": "replace", "path": "/loopback_addresses", "value": addresses}])
        c.comes_to("the default routes of both tables after a commit of loopbacks", lambda: lab.sh("rt", "ip route show table 179 default; ip route show default dev keel0").count("default"), 2)
    pings(c, lab, "out of the router", "rt", "-I %s 10.20.1.2" % LO4)


def two_on_one_host(c, lab, worker, others):
    """A second keeld in another namespace has its own keel0; each ends with its keeld."""
    lab.host("other")
    lab.host("c")
    for h in ("other", "c"):
        lab.sh(h, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0")
    lab.link("other", "px", None, "c", "up", None)
    lab.sh("other", "ip address add fe80::1/64 dev px")
    lab.sh("c", "ip address add fe80::2/64 dev up; ip address add 2001:db8:c::2/64 dev up")
    second, rpc = lab.keeld("other", {
        "router": {"asn": 64999, "router_id": "10.9.9.9"}, "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
        "loopback_addresses": ["10.255.0.1/32"], "ports": [{"name": "east", "device": "net_af_xdp_px,iface=px", "addresses": ["10.9.0.1/24", "2001:db8:c::1/64"]}],
        "bgp": {"peers": [{"address": "fe80::2%east", "asn": 64604, "families": {V6: BOTH[V6]}}]}}, KEELD, name="second")
    c.equal("a second keeld on the host has its own way out", "10.255.0.1/32" in lab.sh("other", "ip address show dev keel0"), True)
    lab.bird("c", """
router id 10.255.0.8;
protocol device { }
protocol static s6 { ipv6; route 2001:db8:800::/48 blackhole; }
protocol bgp keel { local fe80::2 as 64604; neighbor fe80::1%up as 64999; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv6 { import all; export all; }; }
""")
    wait_established(rpc, "fe80::2%east")
    c.true("a link-local session on a port that is named otherwise than its interface", True)
    c.comes_to("its routes lead there", lambda: [(p["port"], p["state"]) for p in rpc.call("fib.lookup", address="2001:db8:800::1")["paths"]],
               [("east", "up")])
    lab.sh("other", "ip link delete keel0")
    c.comes_to("it says that its way out was deleted, once", lambda: second.logged().count("tun-lost"), 1)
    c.equal("it ends in order", second.stop(), 0)
    c.equal("and takes it along", "keel0" in lab.sh("other", "ip link; ip rule; ip -6 rule"), False)
    pings(c, lab, "the first one goes on", "f", LO4)


def speaker_only(c, lab):
    """Without a data plane the kernel's table resolves the next hops of an internal peer."""
    for h in ("nd", "i"):
        lab.host(h)
        lab.sh(h, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0")
    lab.link("nd", "up", "10.7.0.1/24", "i", "up", "10.7.0.2/24")
    lab.sh("nd", "ip address add 2001:db8:7::1/64 dev up")
    lab.sh("i", "ip address add 2001:db8:7::2/64 dev up")
    peer = {"asn": 64512, "timers": {"connect_retry_s": 1}}
    keeld, rpc = lab.keeld("nd", {"router": {"asn": 64512, "router_id": "10.7.0.1"}, "bgp": {"peers": [
        dict(peer, address="10.7.0.2", families={V4: {}}), dict(peer, address="2001:db8:7::2", families={V6: {}})]}}, KEELD, name="speaker",
        args=["--no-dataplane"])
    lab.bird("i", """
router id 10.7.0.2;
protocol device { }
protocol static s4 { ipv4; route 198.19.0.0/24 blackhole; }
protocol static s6 { ipv6; route 2001:db8:900::/48 blackhole; }
protocol bgp keel4 { local 10.7.0.2 as 64512; neighbor 10.7.0.1 as 64512; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export filter { bgp_next_hop = 10.77.0.1; accept; }; }; }
protocol bgp keel6 { local 2001:db8:7::2 as 64512; neighbor 2001:db8:7::1 as 64512; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv6 { import all; export filter { bgp_next_hop = 2001:db8:77::1; accept; }; }; }
""")
    wait_established(rpc, "10.7.0.2", "2001:db8:7::2")

    def valid():
        return [r["valid"] for f in (V4, V6) for r in rpc.call("rib.routes", family=f, view="loc")["routes"]]

    c.comes_to("no data plane: nobody knows the next hops", valid, [False, False])
    lab.sh("nd", "ip route add 10.77.0.0/24 via 10.7.0.2; ip -6 route add 2001:db8:77::/64 via 2001:db8:7::2")
    c.comes_to("no data plane: the kernel's routes resolve them", valid, [True, True])
    lab.sh("nd", "ip route del 10.77.0.0/24; ip -6 route del 2001:db8:77::/64")
    c.comes_to("no data plane: and do not any more", valid, [False, False])
    c.equal("the speaker ends in order", keeld.stop(), 0)


def killed(c, lab, config):
    """kill -9, start, stop: the operator's settings are restored."""
    keeld, _ = lab.keeld("rt", config, KEELD, name="killed")
    keeld.popen.kill()
    keeld.popen.wait()
    lab.sh("rt", "ip rule add from 10.66.6.6 lookup 179 priority 101 protocol 179")  # as of an address that is gone meanwhile
    c.equal("keelfwd keeps the way out of a killed one", "keel0" in lab.sh("rt", "ip link"), True)
    keeld, _ = lab.keeld("rt", config, KEELD, name="killed")
    pings(c, lab, "the next one", "a", LO4)
    c.comes_to("has rules for its addresses alone", lambda: sorted(line.split()[2] for line in lab.sh("rt", "ip rule; ip -6 rule").splitlines() if "lookup 179" in line),
               sorted([LO4, LO6, "10.1.0.1", "10.2.0.1", "2001:db8:1::1", "2001:db8:2::1"]))
    c.equal("the next one ends in order", keeld.stop(), 0)


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
        # The peer's networks are behind its loopback address, which is resolved through BGP.
        pings(checks, lab, "behind the multihop peer", "f", "198.51.100.1")
        pings(checks, lab, "behind the multihop peer", "f", "2001:db8:700::1")
        management(checks, lab)
        own_routes(checks, lab, rpc)
        two_on_one_host(checks, lab, worker, others)
        speaker_only(checks, lab)
        checks.equal("keeld ends in order", keeld.stop(), 0)
        checks.equal("the host is as before", host_state(lab), before)
        killed(checks, lab, keel(worker, others))
        checks.equal("the host is as before, also after a kill", host_state(lab), before)
        keeld, rpc = lab.keeld("rt", keel(worker, others), KEELD)
        wait_established(rpc, "10.1.0.2", "10.2.0.2", "2001:db8:1::2", "2001:db8:2::2")
        duplicate(checks, lab, keeld, rpc)
        port_changes(checks, lab, rpc)


if __name__ == "__main__":
    need("ip", "bird", "birdc", "ping", "ethtool", files=[KEELD])
    raise SystemExit(labtest.main(test))
