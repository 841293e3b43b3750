#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""ROUTE-REFRESH as load: 20 peers with the full table send requests at once, then a total of 1,000 requests per second for 10 s. Measured: latency
of a probe route through the daemon, at rest and under load; CPU seconds; numbers of walks and of answered requests.

The peers, the daemon and the probe share the machine's processors: latency includes all of them."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import ROOT, Bench, Lab, addresses, arguments, cpu_seconds, peer, sample, say, wait_for  # noqa: E402

PEERS, RATE, STORM_S = 20, 1000, 10
PROBES, PROBE_MS = 400, 20


def totals(b, crowd):
    """Sums over all asking peers: requests received and answered, walks begun and ended on the wire; sums over their update groups: walks of the
    table, messages packed for all members and for a single member behind."""
    t = {"walks": 0, "messages": 0, "own_messages": 0, "requests_received": 0, "served": 0, "coalesced": 0, "borr_sent": 0, "eorr_sent": 0}
    peers = b.peers()
    for a in crowd:
        for k, v in peers[a]["families"]["ipv4-unicast"]["refresh"].items():
            if k in t:
                t[k] += v
    # all peers are members of one group, which counts for all of them
    groups = {g["id"]: g for g in (peers[a]["families"]["ipv4-unicast"]["update_group"] for a in crowd)}
    for k in ("walks", "messages", "own_messages"):
        t[k] = sum(g[k] for g in groups.values())
    return t


def difference(after, before):
    return {k: after[k] - before[k] for k in after}


def ended(b, crowd, before, requests):
    d = difference(totals(b, crowd), before)
    return d if d["requests_received"] == requests and d["served"] + d["coalesced"] == requests and d["borr_sent"] == d["eorr_sent"] else None


def probe(prober, count):
    prober.say("probe 0 1 %d %d" % (count, PROBE_MS))


def measure(b, crowd, asking, prober, run, name, command, probes):
    before, cpu, begin = totals(b, asking), cpu_seconds(b.keeld), time.monotonic()
    crowd.ask("report", "report")
    probe(prober, probes)
    crowd.say(command)
    crowd.wait("done", "refresh")
    requests = PEERS if command == "refresh" else RATE * STORM_S
    d = wait_for("answers to %d requests" % requests, lambda: ended(b, asking, before, requests), 600, poll=0.05)
    wall, cpu = time.monotonic() - begin, cpu_seconds(b.keeld) - cpu
    p = prober.wait("done", "probe")
    seen = crowd.ask("report", "report")
    if seen["lost"] or seen["established"] != PEERS:
        raise RuntimeError("sessions were lost: %s" % seen)
    sample(name + "_walks_a_peer", "walks", run, d["served"] / PEERS)
    sample(name + "_group_walks", "walks", run, d["walks"])
    sample(name + "_messages_packed", "messages", run, d["messages"])
    sample(name + "_messages_packed_for_one", "messages", run, d["own_messages"])
    sample(name + "_requests", "requests", run, requests)
    sample(name + "_coalesced", "requests", run, d["coalesced"])
    sample(name + "_wall", "s", run, wall)
    sample(name + "_cpu", "s", run, cpu)
    sample(name + "_octets_sent", "MB", run, seen["octets"] / 1e6)
    sample(name + "_probe_p50", "us", run, p["p50_us"])
    sample(name + "_probe_p99", "us", run, p["p99_us"])
    sample(name + "_probe_max", "us", run, p["max_us"])


def main():
    args = arguments(__doc__, 3)
    asking, probing = addresses("127.1.0.1", PEERS), addresses("127.2.0.1", 2)
    peers = [peer("127.0.0.2", 64601)] + [peer(a, 65001 + i) for i, a in enumerate(asking)] + [peer(a, 65101 + i) for i, a in enumerate(probing)]
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        b = Bench(lab, peers)
        crowd, prober = b.crowd("127.1.0.1", 65001, PEERS), b.crowd("127.2.0.1", 65101, 2, name="prober")
        b.wait_established(asking + probing)
        say("loading %d routes" % args.routes)
        b.feed("127.0.0.2", 64601, args.routes)
        b.wait_advertised(asking + probing, args.routes)
        for run in range(args.runs):
            say("run %d of %d" % (run + 1, args.runs))
            probe(prober, PROBES)
            p = prober.wait("done", "probe")
            for k in ("p50", "p99", "max"):
                sample("rest_probe_" + k, "us", run, p[k + "_us"])
            measure(b, crowd, asking, prober, run, "at_once", "refresh", PROBES // 4)
            measure(b, crowd, asking, prober, run, "storm", "refresh %d %d" % (RATE, STORM_S), STORM_S * 1000 // PROBE_MS)


if __name__ == "__main__":
    main()
