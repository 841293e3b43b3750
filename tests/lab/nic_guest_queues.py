#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two workers on a real driver with two queues, in a guest of scripts/nic-guest --queues 2: both queues receive, both workers forward, no packet is lost and no
flow reordered, while policies change. Then the same over AF_XDP, with the NICs back at their kernel driver: one device of the driver has both queues. KEEL_ROUNDS (3): changes of the policy, each with an audit. KEEL_PPS (200).

    src --- nic0, rt (keeld, two workers) --- nic1, up (BIRD, AS 64601)
"""
import os
import sys

import labtest
from labtest import KEELD, NICS, PROBE, ROOT, Lab, Probe, need, out_folder, peer, routes, run, wait_established, wait_for
from lab import print_losses
from test_port_life import BIRD, PEER, ROUTES

NAME = "nic_guest_queues"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "3"))
PPS = int(os.environ.get("KEEL_PPS", "200"))


def config(devices):
    cpus = sorted(os.sched_getaffinity(0))
    families = {"ipv4-unicast": {"import_policy": "in", "export_policy": "accept-all"}}
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": cpus[-2:], "control_cpus": cpus[:1], "memory_mb": 512, "idle": "adaptive"},
        "ports": [{"name": n, "device": device, "addresses": ["198.18.%d.1/24" % (i + 1)]} for i, (n, device) in enumerate(devices.items())],
        "route_policies": [policy(0)],
        "bgp": {"peers": [{"address": PEER, "asn": 64601, "families": families}]},
    }


def policy(n):
    return {"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": 100 + n}}]}


class Test:
    def __init__(self, checks, lab, xdp):
        self.c, self.lab, self.xdp = checks, lab, xdp

    def devices(self):
        """Ports and their devices; for AF_XDP the kernel's driver gets the NICs back, and the interfaces are in the namespace of the router."""
        ports = dict(zip(("west", "east"), (nic[0] for nic in NICS)))
        for name, address in ports.items() if self.xdp else ():
            run(os.path.join(ROOT, "scripts", "nic"), "unbind", address)
            folder = "/sys/bus/pci/devices/%s/" % address
            virtio = wait_for("the device of virtio", lambda: [v for v in os.listdir(folder) if v.startswith("virtio") and os.path.isdir(folder + v + "/net")], 30)
            self.lab.move(os.listdir(folder + virtio[0] + "/net")[0], "rt", name)
            self.lab.sh("rt", "ethtool -L %s combined 2; ip link set %s up" % (name, name))
            ports[name] = "net_af_xdp_%s,iface=%s" % (name, name)
        return ports

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up"):
            lab.host(h)
        for i, (h, nic) in enumerate(zip(("src", "up"), NICS)):
            lab.move(nic[2], h, "eth0")
            lab.sh(h, "ip address add 198.18.%d.2/24 dev eth0; ip link set eth0 up" % (i + 1))
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.keeld, self.rpc = lab.keeld("rt", config(self.devices()), KEELD)
        lab.bird("up", BIRD)
        wait_established(self.rpc, PEER)
        wait_for("routes", lambda: peer(self.rpc, PEER)["families"]["ipv4-unicast"]["accepted"] == ROUTES, 60)

    def stats(self):
        s = self.rpc.call("dataplane.stats")
        west = next(p for p in s["ports"] if p["name"] == "west")
        return [w["forwarded"] for w in s["workers"]], west

    def run(self):
        c = self.c
        self.build()
        before, west = self.stats()
        c.equal("%s: workers of the queues" % ("AF_XDP" if self.xdp else "DPDK"), [q["worker"] for q in west["queues"]], [0, 1])
        c.true("... of one device", west["driver"] and not any(name.startswith("queue1_") for name in west["driver"]), west["driver"])
        probe = Probe(self.lab, ("10.0.%d.1" % i for i in range(ROUTES)), ["up"], PPS)
        audits = 0
        for n in range(ROUNDS):
            self.rpc.call("config.edit", merge={"route_policies": [policy(n + 1)]})
            self.rpc.call("config.commit")
            wait_for("routes by policy %d" % (n + 1), lambda: {r["local_pref"] for r in routes(self.rpc, view="loc") if r["prefix"].startswith("10.")} == {101 + n}, 60, poll=0.5)
            audits += self.rpc.call("fib.audit", limit=5)["mismatch_count"]
        wait_for("packets through both workers", lambda: all(a > b for a, b in zip(self.stats()[0], before)), 60)
        got = probe.end()
        after, west = self.stats()
        print_losses(self.rpc, got)
        print("      forwarded by the workers: %r" % [a - b for a, b in zip(after, before)])
        c.true("both workers forward a part", all(a - b > got["sent"] // 10 for a, b in zip(after, before)), (before, after))
        c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        c.equal("mismatches in %d audits" % ROUNDS, audits, 0)
        self.rpc.close()
        c.equal("keeld's exit status", self.keeld.stop(), 0)


def test(checks):
    for xdp in (False, True):
        with Lab(OUT) as lab:
            Test(checks, lab, xdp).run()


if __name__ == "__main__":
    need("bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
