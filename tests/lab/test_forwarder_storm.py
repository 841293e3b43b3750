#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Restarts of keeld in a storm: kill -9, an orderly stop, and another build of keeld, while a feed changes routes and packets flow. keelfwd loses and misdirects no packet, BIRD and
FRR keep all routes, the tables equal the list of the feed, and no memory is lost. KEEL_ROUNDS (1) sets how often each is repeated, KEEL_ROUTES (20000) the IPv4 routes, with a
fifth as many IPv6 routes; KEEL_RATE (1000) the changes of routes a second, KEEL_PPS (2000) the packets a second; KEEL_OTHER: a keeld of another build.

    src --- rt (keeld and keelfwd, AS 64512; AF_XDP ports west, east, south, north, and in, out of a VPN instance) --- east, out: up (feeds, AS 64601), south: ub (BIRD, AS 64602), north: fr (FRR, AS 64603)
"""
import ipaddress
import json
import os
import random
import re
import shutil
import signal
import sys
import threading

import labtest
from labtest import FEED, KEELD, PROBE, ROOT, V4, V6, Lab, Probe, memory_kb, need, out_folder, peer, run, wait_established, wait_for
from lab import cpus_of_lab, forwarder_pid, print_losses, remove_namespace

sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from daemons import Frr, Session, Setup  # noqa: E402

NAME = "forwarder_storm"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "1"))
ROUTES = int(os.environ.get("KEEL_ROUTES", "20000"))
RATE = int(os.environ.get("KEEL_RATE", "1000"))
PPS = int(os.environ.get("KEEL_PPS", "2000"))
OTHER = os.environ.get("KEEL_OTHER")
SIZES = {V4: ROUTES, V6: ROUTES // 5}
PORTS = ("west", "east", "south", "north")
FEEDS = {V4: "198.18.2.2", V6: "2001:db8:2::2"}
BIRDS = {V4: "198.18.3.2", V6: "2001:db8:3::2"}
FRR = "198.18.4.2"
USER = 65534  # nobody
PROBED = 200  # destinations of each family
BLUE = "s%d" % os.getpid()  # an instance, between further interfaces of src and up
INSIDE = ["203.0.113.%d" % i for i in range(1, 51)]  # its destinations

BIRD = """
router id 198.18.3.2;
log stderr all;
protocol device { }
protocol bgp keel4 {
  local 198.18.3.2 as 64602; neighbor 198.18.3.1 as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart aware;
  ipv4 { import all; export none; };
}
protocol bgp keel6 {
  local 2001:db8:3::2 as 64602; neighbor 2001:db8:3::1 as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart aware;
  ipv6 { import all; export none; };
}
"""


def config():
    worker, control = cpus_of_lab()

    def neighbour(address, asn, family, feed=False):
        policies = {"import_policy": "accept-all" if feed else "deny-all", "export_policy": "deny-all" if feed else "accept-all"}
        return {"address": address, "asn": asn, "passive": feed, "enforce_first_as": False, "families": {family: policies}}

    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 1024},
        "ports": [{"name": n, "device": "net_af_xdp%d,iface=%s" % (i, n), "addresses": ["198.18.%d.1/24" % (i + 1), "2001:db8:%d::1/64" % (i + 1)]} for i, n in enumerate(PORTS)] +
                 [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "vrf": BLUE, "addresses": ["198.19.%d.1/24" % (i + 1)]} for i, n in enumerate(("in", "out"))],
        "vrfs": [{"name": BLUE}],
        "static_routes": [{"prefix": "203.0.113.0/24", "next_hop": "198.19.2.2", "vrf": BLUE}],
        "bgp": {"peers": [neighbour(a, 64601, f, feed=True) for f, a in FEEDS.items()] + [neighbour(a, 64602, f) for f, a in BIRDS.items()] + [neighbour(FRR, 64603, V4)]},
    }


class Table:
    """The list of a feed, with a longest-match search of its own."""

    def __init__(self, path):
        with open(path) as f:
            self.listed = [ipaddress.ip_network(line.split()[0]) for line in f]
        self.index = {}
        for i, n in enumerate(self.listed):
            self.index.setdefault((int(n.network_address), n.prefixlen), i)
        self.bits = self.listed[0].max_prefixlen
        self.lengths = sorted({n.prefixlen for n in self.listed}, reverse=True)
        self.size = len(self.index)

    def longest(self, address):
        """The index of the longest match; None: no route."""
        for length in self.lengths:
            i = self.index.get((address >> (self.bits - length) << (self.bits - length), length))
            if i is not None:
                return i
        return None

    def steady(self, count, rng):
        """Addresses whose longest match has an even index: the storm changes the odd ones."""
        out = []
        while len(out) < count:
            n = self.listed[rng.randrange(len(self.listed) // 2) * 2]
            address = int(n.network_address) + 1
            if self.longest(address) % 2 == 0:
                out.append(ipaddress.ip_address(address))
        return out


class Sampler(threading.Thread):
    """The least number of routes at the helpers."""

    def __init__(self, count):
        super().__init__(daemon=True)
        self.count, self.first, self.end = count, count(), threading.Event()
        self.least = dict(self.first)
        self.start()

    def run(self):
        while not self.end.wait(0.5):
            self.least = {k: min(v, self.least[k]) for k, v in self.count().items()}

    def stop(self):
        self.end.set()
        self.join()
        return self.least


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab, self.rng, self.feeds, self.number = checks, lab, random.Random(25), {}, 0

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up", "ub", "fr"):
            lab.host(h, ipv6=True)
        for i, (host, port) in enumerate(zip(("src", "up", "ub", "fr"), PORTS)):
            lab.link(host, "eth0", ("198.18.%d.2/24" % (i + 1), "2001:db8:%d::2/64" % (i + 1)), "rt", port, None)
        lab.link("src", "eth1", "198.19.1.2/24", "rt", "in", None)
        lab.link("up", "eth1", "198.19.2.2/24", "rt", "out", None)
        lab.sh("src", "ip route add 203.0.113.0/24 via 198.19.1.1")
        os.chown(lab.dir, USER, USER)
        lab.sh("src", "ip route add default via 198.18.1.1; ip -6 route add default via 2001:db8:1::1")
        self.tables = {}
        for f, option in ((V4, ()), (V6, ("--ipv6",))):
            path = lab.path("table-%s" % f)
            run(FEED, *option, "--count", str(SIZES[f]), "--list", path)
            self.tables[f] = Table(path)
        self.begin()
        _, self.birdc = lab.bird("ub", BIRD)
        self.frr = Frr(lab, "fr").start(Setup(64603, FRR, [Session(V4, FRR, "198.18.4.1", 64512, (V4,))]))
        self.whole("the first table")

    def begin(self):
        self.keelfwd, (_, self.socket) = self.lab.keelfwd("rt", KEELD, "--keeld", str(USER), own_mounts=False)
        self.start(KEELD)
        self.feed()

    def start(self, program):
        self.keeld, self.rpc = self.lab.keeld("rt", config(), program, args=("--forwarder", self.socket, "--user", "nobody"), own_mounts=False)

    def pids(self):
        """keeld and keelfwd"""
        return self.keeld.popen.pid, forwarder_pid(self.socket)

    def feed(self):
        """Feeds the keeld that runs, instead of the one before."""
        for feed in self.feeds.values():
            feed.stop(sig=signal.SIGKILL)
        self.number += 1
        for f, address in FEEDS.items():
            option = ("--ipv6",) if f == V6 else ()
            self.feeds[f] = self.lab.spawn("feed-%s-%d" % (f, self.number), "up", [FEED, *option, "--count", str(SIZES[f]), "--connect", address[:-1] + "1", "--source", address,
                                                                                 "--asn", "64601", "--peer-asn", "64512"], cpus=cpus_of_lab()[1], lines=True)

    def accepted(self):
        return {f: peer(self.rpc, a)["families"][f]["accepted"] for f, a in FEEDS.items()}

    def whole(self, what):
        sizes = {f: t.size for f, t in self.tables.items()}
        for a in (*FEEDS.values(), *BIRDS.values(), FRR):
            wait_established(self.rpc, a)
        wait_for("routes of " + what, lambda: self.accepted() == sizes, 300)
        wait_for("publication of " + what, lambda: self.rpc.call("system.info")["forwarder"]["published"], 300)
        wait_for("all routes at the helpers after " + what, lambda: self.kept() == {**sizes, "frr": sizes[V4]}, 300)
        # RFC 4724 4.2: at the next loss of the session, a helper deletes the routes that are still stale
        wait_for("End-of-RIB at FRR after " + what, self.frr_has_all, 300)
        audit = self.rpc.call("fib.audit", limit=5)
        self.c.true("%s: the audit of %d questions finds nothing" % (what, audit["checked"]), audit["mismatch_count"] == 0 and audit["checked"] >= sum(sizes.values()), audit)
        self.c.equal("%s: answers that differ from the list of the feed" % what, self.differences(), [])

    def differences(self):
        wrong = []
        for t in self.tables.values():
            for n in self.rng.choices(t.listed, k=200):
                address = int(n.network_address) + self.rng.randrange(n.num_addresses)
                got = self.rpc.call("fib.lookup", address=str(ipaddress.ip_address(address)))["prefix"]
                if got != str(t.listed[t.longest(address)]):
                    wrong.append((str(ipaddress.ip_address(address)), got))
        return wrong

    def kept(self):
        """Routes at the helpers."""
        out = {}
        for f, table in ((V4, "master4"), (V6, "master6")):
            out[f] = int(re.search(r"(\d+) of \d+ routes", self.birdc("show", "route", "count", "table", table)).group(1))
        summary = json.loads(self.frr.vty("show bgp ipv4 unicast summary json"))
        out["frr"] = summary.get("peers", {}).get("198.18.4.1", {}).get("pfxRcd", 0)
        return out

    def frr_has_all(self):
        """FRR has read the End-of-RIB of this session."""
        state = json.loads(self.frr.vty("show bgp ipv4 neighbors 198.18.4.1 graceful-restart json"))
        return state["198.18.4.1"]["ipv4Unicast"]["endOfRibStatus"]["endOfRibRecv"]

    def say(self, process, *lines):
        for text in lines:
            process.say(text)
            answer = process.line(60)
            if answer is None or not (answer.startswith("ok") or "event" in answer):
                raise RuntimeError("%s: %s" % (text, answer))

    def memory(self):
        """MB of keeld, and of keelfwd besides the tables, whose pages keelfwd maps if there is time; the regions of tables that keelfwd has."""
        keeld, keelfwd = self.pids()
        with open("/proc/%d/maps" % keelfwd) as f:
            return [memory_kb(keeld) // 1024, memory_kb(keelfwd, "RssAnon") // 1024, f.read().count("memfd:keel-tables")]

    def storm(self):
        """Begins changes of the routes with odd indices, and waits until some have arrived."""
        before = peer(self.rpc, FEEDS[V4])["updates_received"]
        for feed in self.feeds.values():
            feed.say("rate %d 2 1" % RATE)
        wait_for("the storm", lambda: peer(self.rpc, FEEDS[V4])["updates_received"] > before + RATE, 60)

    def changes(self, number):
        """(what, function) of each restart of a round; the function ends keeld, calls its argument, and starts the next keeld."""
        other = OTHER
        if other is None:
            other = self.lab.path("keeld-other")
            shutil.copy(KEELD, other)

        def change(what, sig, program):
            def do(ended):
                self.c.equal("%s: keeld's exit status" % what, self.keeld.stop(sig=sig), 0 if sig == signal.SIGTERM else -sig)
                wait_for("the end of BIRD's sessions", lambda: "Established" not in self.birdc("show", "protocols"), 60)
                ended()
                self.start(program)
            return what, do

        return change("kill -9", signal.SIGKILL, KEELD), change("orderly stop", signal.SIGTERM, KEELD), change("another build", signal.SIGTERM, other)

    def floor(self, sampler):
        """The number of routes that the helpers keep."""
        return sampler.first

    def restart(self, what, change):
        keelfwd, samplers = self.pids()[1], []
        self.storm()
        self.rpc.close()
        change(lambda: samplers.append(Sampler(self.kept)))
        sampler, = samplers
        at_end = self.floor(sampler)
        self.feed()
        self.c.equal("%s: keelfwd goes on" % what, self.pids()[1], keelfwd)
        self.c.true("%s: adopted by the next keeld" % what, self.rpc.call("system.info")["forwarder"]["adopted"])
        self.whole(what)
        least = sampler.stop()
        self.c.true("%s: BIRD keeps the routes" % what, all(least[f] >= at_end[f] for f in (V4, V6)) and at_end[V4] > 0, (at_end, least))
        self.c.true("%s: FRR keeps the routes" % what, least["frr"] > 0 and least["frr"] >= at_end["frr"], (at_end, least))

    def run(self):
        self.build()
        steady = [a for t in self.tables.values() for a in t.steady(PROBED, self.rng)]
        self.probe = Probe(self.lab, steady + [a + " 1" for a in INSIDE], ("up", "ub", "fr", "up:eth1"), PPS, patience=60)
        self.probe.say("mask 1 8")
        memory = None
        for i in range(ROUNDS):
            for what, change in self.changes(i):
                self.restart("%s, %d" % (what, i), change)
                memory = memory or self.memory()
        now = self.memory()
        self.c.true("MB of keeld and keelfwd, and tables, after the first restart: %r, after the last: %r" % (memory, now),
                    all(n <= m * 1.1 + 32 for n, m in zip(now[:2], memory)) and now[2] == 1)
        got = self.probe.end()
        print_losses(self.rpc, got)
        self.c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        self.rpc.close()
        self.finish()

    def finish(self):
        self.c.equal("SIGTERM: keeld's exit status", self.keeld.stop(), 0)
        self.c.equal("SIGTERM: keelfwd's exit status", self.keelfwd.stop(), 0)


def test(checks):
    with Lab(OUT) as lab:
        try:
            Test(checks, lab).run()
        finally:
            if os.path.exists("/run/netns/keel-" + BLUE):
                remove_namespace("keel-" + BLUE)


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE, FEED, "/usr/lib/frr/bgpd"))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
