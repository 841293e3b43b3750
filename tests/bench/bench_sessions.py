#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""100 peers with a hold time of 3 s and the full table, constant changes of an import and an export policy, and refreshes of all peers, for 60 s:
lost sessions, and the delay of keepalives."""
import itertools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import ROOT, Bench, Lab, addresses, arguments, cpu_seconds, peer, sample, say  # noqa: E402
from lab import clock  # noqa: E402

PEERS, HOLD_S = 100, 3


def main():
    args = arguments(__doc__, 1)
    seconds = 15 if args.quick else 60
    crowd_addresses = addresses("127.1.0.1", PEERS)
    policy = {"import_policy": "accept-all", "export_policy": "out"}
    peers = [peer("127.0.0.2", 64601, {"import_policy": "in", "export_policy": "deny-all"})]
    peers += [peer(a, 65001 + i, policy, timers={"hold_s": HOLD_S}) for i, a in enumerate(crowd_addresses)]
    policies = [{"name": n, "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"med": 1}}]} for n in ("in", "out")]
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        b = Bench(lab, peers, {"route_policies": policies})
        crowd = b.crowd("127.1.0.1", 65001, PEERS, hold=HOLD_S)
        b.wait_established(crowd_addresses)
        say("loading %d routes" % args.routes)
        b.feed("127.0.0.2", 64601, args.routes)
        b.wait_advertised(crowd_addresses, args.routes)
        for run in range(args.runs):
            crowd.ask("report", "report")
            cpu, commits, refreshes = cpu_seconds(b.keeld), 0, 0
            for _, med in zip(clock(1, seconds), itertools.count(2)):  # the pace of the storm
                which = med % 2
                b.rpc.call("config.edit", patch=[{"op": "replace", "path": "/route_policies/%d/nodes/0/set/med" % which, "value": med}])
                b.rpc.call("config.commit", comment="storm")
                commits += 1
                crowd.ask("refresh", "done")
                refreshes += PEERS
            seen = crowd.ask("report", "report")
            lost = sum(p["state"] != "established" or p["established_count"] != 1 for p in b.peers().values())
            sample("sessions_lost", "sessions", run, lost)
            sample("commits", "commits", run, commits)
            sample("refreshes_asked", "requests", run, refreshes)
            # longest silence seen by the far end (a keepalive is due every second, less jitter), and the latest keepalive by keeld's own clock
            sample("longest_silence", "ms", run, seen["longest_silence_ms"])
            sample("latest_keepalive", "ms", run, max(p["keepalive_late_ns"] for p in b.peers().values()) / 1e6)
            sample("octets_sent", "MB", run, seen["octets"] / 1e6)
            sample("cpu", "s", run, cpu_seconds(b.keeld) - cpu)
            if lost or seen["lost"]:
                raise RuntimeError("sessions were lost: %s" % seen)


if __name__ == "__main__":
    main()
