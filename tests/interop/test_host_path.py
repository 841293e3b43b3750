#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""The kernel's side of ports: BGP sessions of BIRD, ARP, neighbour discovery, ping and traceroute over ports that the kernel does not own (net_tap,
net_memif), over net_af_packet and over AF_XDP. Only the device differs. Floods against the router are limited by class, and the classes count each packet;
no session is lost. A killed keeld leaves no interface, and the next start has all sessions again. A name that a port cannot have is a fault.

    tap, memif, packet, xdp: a host with BIRD each --- rt (keeld with four ports)

In a guest of scripts/nic-guest the ports are the emulated NICs under vfio-pci, and the hosts nic0, nic1, ...: without floods, because the guest is slow.

KEEL_HOST_PATH_FLOOD_S: duration of each flood (default 0.3). KEEL_HOST_PATH_ROUTES=IPV4,IPV6: also tables of these sizes over each kind of port, such as
1000000,200000 (default: none).
"""
import ipaddress
import json
import os
import re
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest  # noqa: E402
from labtest import BUILD, FEED, KEELD, NICS, Lab, in_netns, need, out_folder, peer  # noqa: E402
from frames import flood_frames  # noqa: E402
from lab import cpus_of_lab  # noqa: E402

NAME = "host_path"
BRIDGE = os.path.join(BUILD, "tests", "bench", "lab_bridge")
FLOOD = os.path.join(BUILD, "tests", "bench", "lab_flood")
FLOOD_S = float(os.environ.get("KEEL_HOST_PATH_FLOOD_S", "0.3"))
ROUTES = [int(n) for n in os.environ.get("KEEL_HOST_PATH_ROUTES", "0,0").split(",")]
HOSTS = tuple("nic%d" % i for i in range(len(NICS))) or ("tap", "memif", "packet", "xdp")
TAPS = [h for h in HOSTS if h not in ("packet", "xdp")]  # ports whose interfaces keeld makes
NUMBER = {h: i + 1 for i, h in enumerate(HOSTS)}
HOLD_S = 9


def port(host):
    return "p" + host


def device(lab, host):
    """The device string of a port: all that differs between the kinds."""
    if NICS:
        return NICS[HOSTS.index(host)][0]
    return {"tap": "net_tap0,iface=far", "memif": "net_memif0,role=server,socket=%s/memif.sock,socket-abstract=no" % lab.dir,
            "packet": "net_af_packet0,iface=wpacket", "xdp": "net_af_xdp0,iface=wxdp"}[host]


def v4(host, end):
    return "10.%d.0.%d" % (NUMBER[host], end)


def v6(host, end):
    return "2001:db8:%d::%d" % (NUMBER[host], end)


def config(lab):
    worker, others = cpus_of_lab()
    return {"router": {"asn": 64512, "router_id": "10.0.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 2048 if any(ROUTES) else 512},
            "ports": [{"name": port(h), "device": device(lab, h), "addresses": [v4(h, 1) + "/24", v6(h, 1) + "/64"]} for h in HOSTS],
            "prefix_lists": [{"name": "own", "entries": [{"action": "permit", "prefix": "198.51.100.0/24"}]}],
            "route_policies": [{"name": "own", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "own"}}]}],
            "bgp": {"networks": [{"prefix": "198.51.100.0/24"}],
                    "peers": [{"address": a(h, 2), "asn": 64600 + NUMBER[h], "timers": {"hold_s": HOLD_S, "connect_retry_s": 1, "idle_hold_s": 1},
                               "families": {f: {"import_policy": "accept-all", "export_policy": "own"}}}
                              for h in HOSTS for a, f in ((v4, "ipv4-unicast"), (v6, "ipv6-unicast"))] +
                             [{"address": a(h, 5), "asn": 64700, "passive": True, "enforce_first_as": False,
                               "families": {f: {"import_policy": "accept-all", "export_policy": "deny-all"}}}
                              for h in HOSTS for a, f in ((v4, "ipv4-unicast"), (v6, "ipv6-unicast")) if any(ROUTES)]}}


def bird_config(host):
    n = NUMBER[host]
    sessions = "".join(
        "protocol bgp session_%s { local %s as %d; neighbor %s as 64512; hold time %d; connect retry time 1; connect delay time 1; error wait time 1, 2;"
        " %s { import all; export where source = RTS_STATIC; }; }\n" % (f, a(host, 2), 64600 + n, a(host, 1), HOLD_S, f)
        for f, a in (("ipv4", v4), ("ipv6", v6)))
    return ("router id %s;\nprotocol device {}\nprotocol static { ipv4; route 203.0.%d.0/24 blackhole; }\n"
            "protocol static { ipv6; route 2001:db8:f%d::/48 blackhole; }\n%s" % (v4(host, 2), n, n, sessions))


def trace(to):
    """The routers on the way to `to`, and how the end answers: [(address, ICMP type)]."""
    six, hops = ":" in to, []
    for ttl in range(1, 5):
        # A socket for each packet: the kernel queues an ICMP message before it sets the socket's error, which would fail the next send.
        s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(*((socket.IPPROTO_IPV6, 25, 1) if six else (socket.IPPROTO_IP, 11, 1)))  # IPV6_RECVERR, IP_RECVERR
        s.setblocking(False)
        s.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl) if six else (socket.IPPROTO_IP, socket.IP_TTL, ttl)))
        s.sendto(b"trace", (to, 33434 + ttl))
        poll = select.poll()
        poll.register(s, 0)  # reports POLLERR
        if not poll.poll(5000):
            return hops + [None]
        _, control, _, _ = s.recvmsg(512, 512, 0x2000)  # MSG_ERRQUEUE
        s.close()
        data = control[0][2]
        kind = data[5]  # of struct sock_extended_err
        hops.append((str(ipaddress.ip_address(data[24:40] if six else data[20:24])), kind))
        if kind == (1 if six else 3):  # port unreachable: the end
            return hops
    return hops


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab, self.bridge = checks, lab, None

    def ns(self, host):
        return self.lab.netns(host)

    def build(self):
        lab = self.lab
        for h in ("rt",) + HOSTS:
            lab.host(h, ipv6=True)
        for h in HOSTS:
            if h not in TAPS:
                lab.link(h, "up", None, "rt", "w" + h, None)
        for h, nic in zip(HOSTS, NICS):
            lab.move(nic[2], h, "up")
        self.keeld, self.rpc = lab.keeld("rt", config(lab), KEELD)
        self.far_ends()
        self.birdc = {}
        for h in HOSTS:
            _, self.birdc[h] = lab.bird(h, bird_config(h))

    def far_ends(self):
        """Connects tap and memif to their hosts."""
        lab = self.lab
        if "far" in lab.sh("rt", "ls /sys/class/net"):
            lab.sh("rt", "ip link set far netns %s name up" % self.ns("tap"))
        if self.bridge is None and "memif" in HOSTS:
            self.start_bridge()
        for h in HOSTS:
            lab.sh(h, "ip address replace %s/24 dev up; ip -6 address replace %s/64 dev up nodad; ip link set dev up up" % (v4(h, 2), v6(h, 2)))
            lab.sh(h, "ip route replace default via %s; ip -6 route replace default via %s" % (v4(h, 1), v6(h, 1)))

    def start_bridge(self):
        """Starts the far side of memif. All its threads need a CPU without a worker: there they would starve."""
        others = cpus_of_lab()[1]
        self.bridge = self.lab.spawn("bridge", "memif", [BRIDGE, str(others[0]), "net_tap0,iface=up",
                                                         "net_memif0,role=client,socket=%s/memif.sock,socket-abstract=no" % self.lab.dir], cpus=others, lines=True)
        while self.bridge.line(60) != "up\n":
            self.bridge.must_run()

    def sessions(self, what):
        for a in (v4, v6):
            for h in HOSTS:
                self.c.eventually("%s: session of %s" % (what, a(h, 2)), lambda: ((peer(self.rpc, a(h, 2)) or {}).get("state") == "established",
                                                                                   peer(self.rpc, a(h, 2))), 60)

    def stats(self, host):
        return next(p for p in self.rpc.call("dataplane.stats")["ports"] if p["name"] == port(host))

    # ---- what the kernel does for the router ----

    def interface(self, host):
        c, lab = self.c, self.lab
        name = port(host) if host in TAPS else "w" + host
        link = json.loads(lab.sh("rt", "ip -j -d link show dev %s" % name))[0]
        c.equal("%s: the interface has a carrier and the device's MTU" % host, (link["operstate"] != "DOWN", link["mtu"]), (True, 1500))
        neighbors = {n["dst"]: n["lladdr"] for n in json.loads(lab.sh(host, "ip -j neigh show dev up")) if "lladdr" in n}
        c.equal("%s: ARP and neighbour discovery name its address" % host, (neighbors.get(v4(host, 1)), neighbors.get(v6(host, 1))),
                (link["address"], link["address"]))
        c.true("%s: keeld has the neighbours" % host,
               {(n["address"], n["port"]) for n in self.rpc.call("dataplane.neighbors")} >= {(v4(host, 2), port(host)), (v6(host, 2), port(host))},
               self.rpc.call("dataplane.neighbors"))

    def ping(self, host, to, size=56):
        out = self.lab.sh(host, "ping -n -i 0.01 -c 2 -W 2 -M do -s %d %s || true" % (size, to))
        return int(re.search(r"(\d+) received", out).group(1)), "DUP" in out

    def reach(self, host):
        c, other = self.c, HOSTS[(HOSTS.index(host) + 1) % len(HOSTS)]
        for a, head in ((v4, 28), (v6, 48)):
            c.comes_to("%s: the router answers pings to %s" % (host, a(host, 1)), lambda: self.ping(host, a(host, 1)), (2, False))
            c.comes_to("... and pings of a full frame", lambda: self.ping(host, a(host, 1), 1500 - head), (2, False))
            c.comes_to("... and to its address on another port", lambda: self.ping(host, a(other, 1)), (2, False))
            c.comes_to("%s: pings pass through the router to %s" % (host, a(other, 2)), lambda: self.ping(host, a(other, 2)), (2, False))
            expired, unreachable = (11, 3) if a is v4 else (3, 1)
            c.comes_to("%s: traceroute to the router" % host, lambda: in_netns(self.ns(host), lambda: trace(a(host, 1))), [(a(host, 1), unreachable)])
            c.comes_to("... and through the router", lambda: in_netns(self.ns(host), lambda: trace(a(other, 2))),
                       [(a(host, 1), expired), (a(other, 2), unreachable)])

    def routes(self):
        c = self.c
        for h in HOSTS:
            n = NUMBER[h]
            c.eventually("%s: its routes are forwarded by its port" % h, lambda: (lambda r: (
                all(x["prefix"] is not None and [p["port"] for p in x["paths"]] == [port(h)] for x in r), r))(
                    [self.rpc.call("fib.lookup", address=a) for a in ("203.0.%d.1" % n, "2001:db8:f%d::1" % n)]))
            c.eventually("%s: BIRD has the router's network" % h, lambda: (lambda r: ("198.51.100.0/24" in r, r))(
                self.birdc[h]("show", "route", "table", "master4", "where", "net = 198.51.100.0/24")))


    # ---- floods ----

    def passed_on(self, host):
        """Frames that the far interface has sent, without those that it dropped."""
        return json.loads(self.lab.sh(host, "ip -j -s link show dev up"))[0]["stats64"]["tx"]["packets"]

    def counted(self, host, kind):
        return dict(self.stats(host)["host"][kind])

    def others(self, host, kind):
        """Packets of all other classes."""
        return sum(sum(v.values()) for k, v in self.stats(host)["host"].items() if k != kind)

    def flood(self, host):
        c, name = self.c, "wxdp" if host == "xdp" else port(host)
        # the bridge of memif is slower than a flood, which then loses the host's own keepalives before the router
        seconds = min(FLOOD_S, 0.3) if host == "memif" else FLOOD_S
        mac = bytes.fromhex(self.lab.sh("rt", "cat /sys/class/net/%s/address" % name).strip().replace(":", ""))
        for kind, frame in flood_frames(mac, v4(host, 77), v4(host, 1), v4(host, 3)).items():
            before, first, rest = self.counted(host, kind), self.passed_on(host), self.others(host, kind)
            self.lab.sh(host, "%s up %g %s" % (FLOOD, seconds, frame.hex()))

            def grown():
                now = self.counted(host, kind)
                return {k: now[k] - before[k] for k in now}

            def all_counted():
                """The host also sends messages of its own, mostly of other classes; the bridge of memif is slow, and may lose frames."""
                g, arrived = grown(), self.passed_on(host) - first - (self.others(host, kind) - rest)
                least, policed = (1, True) if host == "memif" else (arrived - 50, g["policed"] > 0)
                return policed and g["passed"] > 0 and least <= sum(g.values()) <= arrived + 50, (g, arrived)

            c.eventually("%s: %s counts each packet of a flood" % (host, kind), all_counted)
            limit = {"bgp_others": 100, "neighbors": 1000, "icmp": 1000, "others": 10000}[kind]
            c.true("... and passes as many as its limit allows", grown()["passed"] <= limit * (seconds + 0.1) * 1.5 + 20, grown())

    def floods(self):
        self.rpc.call("control.stats.reset")
        for host in ("tap", "memif", "xdp"):
            self.flood(host)
        for p in [p for p in self.rpc.call("bgp.peers")["peers"] if p["asn"] != 64700]:
            self.c.equal("%s: its session outlives the floods" % p["address"], (p["state"], p["established_count"]), ("established", 1))
        late = self.rpc.call("control.stats")["keepalive_late_ns"]
        self.c.true("keepalives are at most 1 s late", late["max"] < 1e9, late)

    # ---- tables ----

    def table(self, host, address, family, count):
        """A peer announces a table over the port; then it ends."""
        self.lab.sh(host, "ip address add %s dev up %s" % ((address(host, 5) + "/24", "") if address is v4 else (address(host, 5) + "/64", "nodad")))
        feed = self.lab.spawn("feed", host, [FEED, "--connect", address(host, 1), "--source", address(host, 5), "--asn", "64700", "--peer-asn", "64512",
                                             "--count", str(count)] + (["--ipv6"] if address is v6 else []), cpus=cpus_of_lab()[1], lines=True)
        begin = time.monotonic()

        def received():
            n = peer(self.rpc, address(host, 5))["families"][family]["received"]
            return n == count, n

        self.c.eventually("%s: %d routes of %s" % (host, count, family), received, 600)
        print("     %.1f s; %s" % (time.monotonic() - begin, self.stats(host).get("host", {}).get("bgp_peers")))
        feed.stop()

    def tables(self):
        for host in HOSTS:
            for address, family, count in ((v4, "ipv4-unicast", ROUTES[0]), (v6, "ipv6-unicast", ROUTES[1])):
                if count:
                    self.table(host, address, family, count)
        for p in self.rpc.call("bgp.peers")["peers"]:
            if p["asn"] != 64700:
                self.c.equal("%s: its session outlives the tables" % p["address"], (p["state"], p["established_count"]), ("established", 1))

    # ---- life ----

    def taps(self):
        return [port(h) for h in TAPS if "does not exist" not in self.lab.sh("rt", "ip link show dev %s 2>&1 || true" % port(h))]

    def gone(self, what):
        self.c.equal(what + ": its interfaces are gone", self.taps(), [])

    def killed(self):
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        self.c.equal("killed: keelfwd keeps the interfaces", self.taps(), [port(h) for h in TAPS])
        if self.bridge:
            self.bridge.stop()  # net_memif connects once
        self.bridge = None
        self.keeld, self.rpc = self.lab.keeld("rt", config(self.lab), KEELD)
        self.far_ends()
        self.sessions("after the kill")

    def bridge_leaves(self):
        """The far side of memif ends, and comes back."""
        self.bridge.stop()
        self.c.eventually("memif: without its far side the port has no carrier", lambda: (lambda s: (s == "0", s))(
            self.lab.sh("rt", "cat /sys/class/net/pmemif/carrier").strip()))
        self.bridge = None
        self.far_ends()
        self.sessions("the far side of memif is back")

    def faults(self):
        """Ports that would be silent: keeld --check names them."""
        for name, dev, text in (("wxdp", "net_tap1,iface=other", "an interface wxdp exists"), ("same", "net_tap1,iface=same", "belongs to the device")):
            document = dict(config(self.lab), ports=[{"name": name, "device": dev}])
            out = self.lab.sh("rt", "%s --check -c %s 2>&1; echo status $?" % (KEELD, self.lab.write("fault.json", json.dumps(document))))
            self.c.true("a port named %s with %s is a fault" % (name, dev), "/ports/0/name: " in out and text in out and "status 2" in out, out)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        t.sessions("first start")
        for h in HOSTS:
            t.interface(h)
            t.reach(h)
        t.routes()
        for h in HOSTS:
            counters = t.stats(h).get("host")
            checks.true("%s: the classes count what the kernel received, and drop nothing" % h, counters is None if h == "packet" else
                        all(counters[k]["passed"] > 0 for k in ("bgp_peers", "icmp", "others")) and
                        not any(k["policed"] + k["lost"] for k in counters.values()), counters)
        if not NICS:
            t.faults()
            t.floods()
        if any(ROUTES):
            t.tables()
        t.killed()
        if "memif" in HOSTS:
            t.bridge_leaves()
        t.rpc.close()
        checks.equal("stops in order", t.keeld.stop(), 0)
        t.gone("stopped")


if __name__ == "__main__":
    need("ip", "ethtool", "ping", "bird", files=(KEELD, BRIDGE, FEED, FLOOD))
    sys.exit(labtest.main(test))
