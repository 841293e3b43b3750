#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Instances are added, changed and removed at random for CHURN_S seconds (4), while VPN routes change, two hosts exchange packets through another instance,
and labelled packets come for instances that exist, never existed, or were just removed. At rests each instance has the routes that an oracle says, and
fib.audit of all tables and of each instance finds no mismatch. No packet of the two hosts is lost; both keelds end with status 0, so a build with ASan has found no
error and no leak. SEED (1) repeats a run; the acceptance of ten minutes: CHURN_S=600 KEEL_BUILD=build/asan.

    c1 --- pe1 (keeld) ===== pe2 (keeld) --- c2        red: c1, c2
             |
             f (feed of VPNv4)
"""
import os
import random
import re
import socket
import struct
import sys
import threading

import labtest
from labtest import FEED, KEELD, Lab, in_netns, need, out_folder, wait_established
from lab import clock, cpus_of_lab
from test_mpls import CORE, VPN
sys.path.insert(0, os.path.join(labtest.ROOT, "tests", "bench"))
from bench_lab import Events  # noqa: E402

NAME = "instance_churn"
CHURN_S, SEED = float(os.environ.get("CHURN_S", 4)), int(os.environ.get("SEED", 1))
FEED_AT, US_AT = "198.18.1.2", "198.18.1.1"
RED = 100  # the target of red
RDS, COUNT = 6, 100  # the feed: targets 1 to RDS, with COUNT prefixes each
SLOTS = ("one", "two", "three", "four", "five")
OWN = (201, 202, 203)  # targets that the instances export
EACH = 15  # changes between two rests


def edge(pe, worker, control):
    peer = {"asn": 64512, "timers": {"connect_retry_s": 1, "idle_hold_s": 1}, "families": {f: {} for f in VPN}}
    document = {
        "router": {"asn": 64512, "router_id": CORE[pe]},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": "core", "device": "net_af_xdp_core,iface=core", "addresses": [CORE[pe] + "/24"], "mpls": True},
                  {"name": "red", "device": "net_af_xdp_red,iface=red", "vrf": "red", "addresses": ["10.%d.0.1/24" % pe, "2001:db8:%d::1/64" % pe]}],
        "bgp": {"networks": networks_of_red(pe), "peers": [dict(peer, address=CORE[3 - pe], passive=pe == 1)]},
        "vrfs": [red(pe)]}
    if pe == 1:
        document["ports"].append({"name": "load", "device": "net_af_xdp_load,iface=load", "addresses": [US_AT + "/24"], "mpls": True})
        document["bgp"]["peers"].append(dict(peer, address=FEED_AT, passive=True))
    return document


def target(n):
    return "64512:%d" % n


def red(pe):
    return {"name": "red", "rd": "64512:%d" % (RED + pe), "import_targets": [target(RED)], "export_targets": [target(RED)]}


def networks_of_red(pe):
    return [{"prefix": p, "vrf": "red"} for p in ("10.%d.0.0/24" % pe, "2001:db8:%d::/64" % pe)]


class Instance:
    """An instance drawn at random."""

    def __init__(self, rng, slot):
        self.name, self.slot, self.rd = SLOTS[slot], slot, 1000 + 10 * slot + rng.randrange(3)
        self.imports = set(rng.sample((*range(1, RDS + 1), RED, *OWN), rng.randrange(5)))
        self.exports = set(rng.sample(OWN, rng.randrange(3)))
        self.networks = ["10.%d.%d.0/24" % (100 + slot, n) for n in range(rng.randrange(4))]
        self.peer = rng.random() < 0.3  # with a peer the instance has a network namespace

    def document(self):
        return {"name": self.name, "rd": target(self.rd), "import_targets": sorted(map(target, self.imports)), "export_targets": sorted(map(target, self.exports))}

    def imported(self, others):
        """The oracle: routes of the feed, of red at both edges in two families, and of the other instances."""
        feed = COUNT * len(self.imports & set(range(1, RDS + 1)))
        local = sum(len(o.networks) for o in others if o is not self and o.exports & self.imports)
        return feed + (4 if RED in self.imports else 0) + local


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab, self.rng, self.instances, self.commits = checks, lab, random.Random(SEED), {}, 0

    def build(self):
        lab = self.lab
        worker, control = cpus_of_lab()
        for h in ("pe1", "pe2", "c1", "c2", "f"):
            lab.host(h, ipv6=True)
        known = lab.write("suppressions", "leak:libxdp.so\nleak:libbpf.so\n")  # once for each AF_XDP port, by the libraries
        os.environ["LSAN_OPTIONS"] = "print_suppressions=0:suppressions=" + known
        lab.link("pe1", "core", None, "pe2", "core", None)
        lab.link("f", "up", FEED_AT + "/24", "pe1", "load", None)
        for pe in (1, 2):
            h = "c%d" % pe
            lab.link(h, "up", ["10.%d.0.2/24" % pe, "2001:db8:%d::2/64" % pe], "pe%d" % pe, "red", None)
            lab.sh(h, "ip route add default via 10.%d.0.1; ip -6 route add default via 2001:db8:%d::1" % (pe, pe))
        self.edges = {pe: lab.keeld("pe%d" % pe, edge(pe, worker, control), KEELD, name="pe%d" % pe) for pe in (1, 2)}
        self.rpc = self.edges[1][1]
        feed = lab.spawn("feed", "f", [FEED, "--connect", US_AT, "--source", FEED_AT, "--next-hop", FEED_AT, "--asn", "64512", "--peer-asn", "64512", "--vpn",
                                       "--rds", str(RDS), "--count", str(COUNT)], lines=True)
        self.feed = Events(feed)
        wait_established(self.rpc, CORE[2], FEED_AT)
        for address in ("10.2.0.2", "2001:db8:2::2"):
            self.c.comes_to("c1 reaches %s" % address, lambda: "1 received" in lab.sh("c1", "ping -n -c 1 -W 1 %s || true" % address), True)

    def commit(self):
        """One change of an instance: added, removed, or drawn anew."""
        slot = self.rng.randrange(len(SLOTS))
        if slot in self.instances and self.rng.random() < 0.4:
            del self.instances[slot]
        else:
            self.instances[slot] = Instance(self.rng, slot)
        those, peers = self.instances.values(), edge(1, 0, [0])["bgp"]["peers"]
        networks = networks_of_red(1) + [{"prefix": p, "vrf": i.name} for i in those for p in i.networks]
        peers += [{"address": "192.0.2.9", "asn": 65001, "vrf": i.name, "passive": True, "families": {"ipv4-unicast": {}}} for i in those if i.peer]
        self.rpc.call("config.edit", merge={"vrfs": [red(1)] + [i.document() for i in those], "bgp": {"networks": networks, "peers": peers}})
        self.rpc.call("config.commit")
        self.commits += 1

    def rest(self):
        """The feed restores its table; the instances have what the oracle says, in the RIB and in the tables."""
        self.feed.say("rate 0 1 0")
        self.feed.wait("paced", timeout=60)
        want = {i.name: i.imported(self.instances.values()) for i in self.instances.values()}
        self.c.comes_to("after %d commits: imported routes" % self.commits,
                        lambda: {v["name"]: v["imported"] for v in self.rpc.call("vrf.list")["vrfs"] if v["name"] in SLOTS}, want)
        audits = {name: self.rpc.call("fib.audit", **({"vrf": name} if name else {})) for name in (None, *want)}
        self.c.equal("... and clean tables", {n: (a["mismatch_count"], a["not_installed"]) for n, a in audits.items()}, dict.fromkeys(audits, (0, 0)))

    def labelled(self, ends):
        """Packets with a label for instances of pe1, 100 a second; the labels of removed instances too."""
        mac = bytes.fromhex(self.lab.sh("pe1", "cat /sys/class/net/core/address").strip().replace(":", ""))

        def opened():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind(("core", 0))
            return s
        rng, sock = random.Random(SEED), in_netns(self.lab.netns("pe2"), opened)
        with sock:
            while not ends.wait(0.01):
                to = bytes([10, 100 + rng.randrange(len(SLOTS)), rng.randrange(4), 1])
                header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes([10, 2, 0, 2]), to)
                total = sum(struct.unpack("!10H", header))
                total = (total & 0xffff) + (total >> 16)
                header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + header[12:]
                label = 17 + rng.randrange(60)  # 16 is that of red, which has no such hosts
                sock.send(mac + b"\x02\0\0\0\0\x01\x88\x47" + struct.pack("!I", label << 12 | 0x100 | 64) + header + bytes(8))
                self.frames += 1

    def churn(self):
        pings = [labtest.ping(self.lab, "ping%d" % i, "c1", a) for i, a in enumerate(("10.2.0.2", "2001:db8:2::2"))]
        self.frames, ends = 0, threading.Event()
        sender = threading.Thread(target=self.labelled, args=(ends,))
        sender.start()
        try:
            for n in clock(0.1, CHURN_S):
                if n % EACH == 0:
                    self.feed.say("rate 200 1 0")
                self.commit()
                if n % EACH == EACH - 1:
                    self.rest()
        finally:
            ends.set()
            sender.join()
        for p in pings:
            answers, lost = labtest.ping_end(p)
            self.c.true("%d answers, no packet lost" % answers, answers >= 10 * CHURN_S and not lost, lost)
        drops = {}
        for w in self.rpc.call("dataplane.stats")["workers"]:
            drops.update({r: n for r, n in w["drops"].items() if n and r.startswith("mpls-")})
        print("%d commits, %d labelled frames, drops %s" % (self.commits, self.frames, drops), flush=True)
        self.c.true("labels of no instance are dropped under a name", drops.get("mpls-label", 0) > 0, drops)

    def end(self):
        for pe, (process, rpc) in self.edges.items():
            rpc.close()
            self.c.equal("pe%d ends without an error" % pe, (process.stop(), re.findall(r"ERROR: \w+Sanitizer.*|runtime error.*", process.logged())), (0, []))


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        t.churn()
        t.end()


if __name__ == "__main__":
    need("ip", "ethtool", "ping", files=[KEELD, FEED])
    raise SystemExit(labtest.main(test))
