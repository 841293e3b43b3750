#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Control-plane policing as work of a worker: half of the frames at a port are addressed to the router by a stranger, one class of the host path at a
time, and the other half is forwarded between lab ports (tests/dataplane/lab_port.h). Rate of the forwarded frames, beside as many frames of the same kind
that a blackhole route for their destination drops (`blackhole`; for ARP, UDP); in turns of a second, because the noise of virtual machines changes.
`uncounted`: frames of the flood that the counters of the class do not have.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, KEELD, ROOT, Lab, arguments, sample, say, wait_for  # noqa: E402
import lab_ports  # noqa: E402
from frames import flood_frames  # noqa: E402
from lab import cpus_of_lab, worker_drops  # noqa: E402

ROUTES = [("10.%d.0.0/16" % i, 0) for i in range(64)]
HALF = 0xaaaaaaaaaaaaaaaa
ROUTER, STRANGER, NEXT_HOP, BLACKHOLE = "192.0.2.1", "192.0.2.77", "198.51.100.9", "203.0.113.1"
TURN_S = 1


def document(ports):
    worker, others = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": ROUTER},
        "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512, "eal_args": ports.eal_args()},
        "ports": [{"name": "in", "device": ports.device(0), "addresses": [ROUTER + "/24"]},
                  {"name": "out", "device": ports.device(1), "addresses": ["198.51.100.1/24"]}],
        "static_routes": [{"prefix": p, "next_hop": NEXT_HOP} for p, _ in ROUTES] + [{"prefix": BLACKHOLE + "/32", "blackhole": True}]}


class Police:
    def __init__(self, lab):
        lab.host("r")
        self.ports = lab_ports.LabPorts(BUILD, lab.dir, ROUTES, v4=1 << 20, v6=0)
        with self.ports.environment():
            _, self.rpc = lab.keeld("r", document(self.ports), KEELD, idle="spin")
        lab.sh("r", "ip neigh replace %s lladdr 02:00:00:00:00:09 dev out nud permanent" % NEXT_HOP)
        wait_for("the next hop", lambda: [p["state"] for p in self.rpc.call("fib.lookup", address="10.63.0.1")["paths"]] == ["up"], 20)
        self.frames = flood_frames(bytes(6), STRANGER, ROUTER, "192.0.2.3")  # the source writes the address of the port
        self.references = flood_frames(bytes(6), STRANGER, BLACKHOLE, "192.0.2.3")
        self.references["neighbors"] = self.references["others"]
        self.ports.open()
        self.ports.limit(1, 0)

    def counted(self, kind, dut):
        """Frames of the flood by the counters of keeld."""
        if dut == "blackhole":
            return worker_drops(self.rpc, dut)
        return sum(next(p for p in self.rpc.call("dataplane.stats")["ports"] if p["name"] == "in")["host"][kind].values())

    def turn(self, kind, dut):
        """(frames forwarded a second, frames that neither arrived nor have a counter)"""
        self.ports.flood(HALF, (self.references if dut == "blackhole" else self.frames)[kind])
        before, first = self.counted(kind, dut), self.ports.stats()
        self.ports.run(True)
        time.sleep(TURN_S)
        now = self.ports.stats()
        self.ports.run(False)

        def missing():
            end = self.ports.stats()
            flood = (end["sent"] - first["sent"]) - (end["seen"] - first["seen"])
            return flood - (self.counted(kind, dut) - before)
        try:
            wait_for("the counters", lambda: missing() == 0, 5)
        except TimeoutError:
            pass  # `uncounted` has the difference
        return (now["seen"] - first["seen"]) / (now["ns"] - first["ns"]) * 1e3, missing()


def main():
    args = arguments(__doc__, 5)
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        police = Police(lab)
        police.turn("others", "blackhole")  # warms the caches
        for run in range(args.runs):
            for kind in police.frames:
                for dut in ("keel", "blackhole") if run % 2 else ("blackhole", "keel"):
                    rate, uncounted = police.turn(kind, dut)
                    sample("rate_" + kind, "Mpps", run, rate, dut)
                    sample("uncounted_" + kind, "frames", run, uncounted, dut)
            say("run %d" % (run + 1))
        police.ports.close()


if __name__ == "__main__":
    main()
