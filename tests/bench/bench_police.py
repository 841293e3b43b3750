#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Control-plane policing as work of a worker: half of the frames at a port are addressed to the router by a stranger, one class of the host path at a
time, and the other half is forwarded between lab ports (tests/dataplane/lab_port.h). Rate of the forwarded frames, beside the same with as many frames
that a blackhole route drops (`blackhole`; to one address, like those to the router, because a longer prefix takes a longer lookup); in turns of a second, because the noise of virtual machines changes. `uncounted`: frames of the flood that
the counters of the class do not have.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, KEELD, ROOT, Lab, arguments, sample, say, wait_for  # noqa: E402
import lab_ports  # noqa: E402
from frames import flood_frames, ipv4, ipv4_frame  # noqa: E402
from lab import cpus_of_lab, worker_drops  # noqa: E402

ROUTES = [("10.%d.0.0/16" % i, 0) for i in range(64)]
HALF = 0xaaaaaaaaaaaaaaaa
ROUTER, STRANGER, NEXT_HOP = "192.0.2.1", "192.0.2.77", "198.51.100.9"
TURN_S = 1


def document(ports):
    worker, others = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": ROUTER},
        "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512, "eal_args": ports.eal_args()},
        "ports": [{"name": "in", "device": ports.device(0), "addresses": [ROUTER + "/24"]},
                  {"name": "out", "device": ports.device(1), "addresses": ["198.51.100.1/24"]}],
        "static_routes": [{"prefix": p, "next_hop": NEXT_HOP} for p, _ in ROUTES] + [{"prefix": "203.0.113.1/32", "blackhole": True}]}


class Police:
    def __init__(self, lab):
        lab.host("r")
        self.ports = lab_ports.LabPorts(BUILD, lab.dir, ROUTES, v4=1 << 20, v6=0)
        with self.ports.environment():
            _, self.rpc = lab.keeld("r", document(self.ports), KEELD)
        lab.sh("r", "ip neigh replace %s lladdr 02:00:00:00:00:09 dev out nud permanent" % NEXT_HOP)
        wait_for("the next hop", lambda: [p["state"] for p in self.rpc.call("fib.lookup", address="10.63.0.1")["paths"]] == ["up"], 20)
        self.frames = flood_frames(bytes(6), STRANGER, ROUTER, "192.0.2.3")  # the source writes the address of the port
        self.frames["blackhole"] = ipv4_frame(bytes(6), ipv4(STRANGER, "203.0.113.1", 17, bytes(8)))
        self.ports.open()
        self.ports.limit(1, 0)

    def counted(self, kind):
        """Frames of the flood by the counters of keeld."""
        if kind == "blackhole":
            return worker_drops(self.rpc, kind)
        return sum(next(p for p in self.rpc.call("dataplane.stats")["ports"] if p["name"] == "in")["host"][kind].values())

    def turn(self, kind):
        """(frames forwarded a second, frames of the flood that no counter has)"""
        self.ports.flood(HALF, self.frames[kind])
        before, first = self.counted(kind), self.ports.stats()
        self.ports.run(True)
        time.sleep(TURN_S)
        now = self.ports.stats()
        self.ports.run(False)

        def missing():
            end = self.ports.stats()
            flood = (end["sent"] - first["sent"]) - (end["seen"] - first["seen"])
            return flood - (self.counted(kind) - before)
        try:
            wait_for("the counters", lambda: missing() == 0, 5)
        except TimeoutError:
            pass  # the figure tells it
        return (now["seen"] - first["seen"]) / (now["ns"] - first["ns"]) * 1e3, missing()


def main():
    args = arguments(__doc__, 5)
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        police = Police(lab)
        kinds = [k for k in police.frames if k != "blackhole"]
        police.turn("blackhole")  # warms the caches
        for run in range(args.runs):
            for kind in kinds:
                for dut in ("keel", "blackhole") if run % 2 else ("blackhole", "keel"):
                    rate, uncounted = police.turn(kind if dut == "keel" else "blackhole")
                    sample("rate_" + kind, "Mpps", run, rate, dut)
                    sample("uncounted_" + kind, "frames", run, uncounted, dut)
            say("run %d" % (run + 1))
        police.ports.close()


if __name__ == "__main__":
    main()
