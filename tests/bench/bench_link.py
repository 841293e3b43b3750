#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Failure of a link with many prefixes: time from the netlink message to the last change visible to the workers (the words of the next hops). Two
links of a router, with 10,000 and 1,000,000 prefixes, fail in turn."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import FEED, KEELD, ROOT, Events, Lab, arguments, sample, say, wait_for  # noqa: E402

FAILURES = 50
LINKS = (("few", 1), ("many", 2))


def document(cpus):
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [cpus[-1]], "control_cpus": cpus[:-1] or cpus, "memory_mb": 1024},
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": ["198.18.%d.1/24" % net]} for n, net in LINKS],
        "bgp": {"peers": [{"address": "198.18.%d.2" % net, "asn": 64600 + net, "enforce_first_as": False,
                           "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "deny-all"}}} for _, net in LINKS]},
    }


def main():
    args = arguments(__doc__, 1)
    failures = 5 if args.quick else FAILURES
    counts = {"few": 10000, "many": args.routes}
    cpus = sorted(os.sched_getaffinity(0))
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        for h in ("rt", "few", "many"):
            lab.host(h)
        for name, net in LINKS:
            lab.link(name, "up", "198.18.%d.2/24" % net, "rt", name, None)
        _, rpc = lab.keeld("rt", document(cpus), KEELD, cpus=cpus, idle="spin")
        for name, net in LINKS:
            # different seeds: different prefixes, mostly without a second path
            feed = Events(lab.spawn("feed-" + name, name, [FEED, "--connect", "198.18.%d.1" % net, "--source", "198.18.%d.2" % net, "--asn",
                                                           str(64600 + net), "--peer-asn", "64512", "--count", str(counts[name]), "--seed",
                                                           str(net)], lines=True))
            feed.wait("done", "table")
            say("%s: %d prefixes" % (name, counts[name]))

        def accepted():
            return {p["address"]: p["families"]["ipv4-unicast"]["accepted"] for p in rpc.call("bgp.peers")["peers"]}

        def ways(name, net, up):
            """True if the shadow's paths use the link (or, when down, no path does)."""
            state = rpc.call("fib.lookup", address="198.18.%d.2" % net)["paths"]
            return bool(state) and state[0]["state"] == "up" if up else not state or state[0]["state"] != "up"

        wait_for("both tables", lambda: accepted() == {"198.18.%d.2" % net: counts[n] for n, net in LINKS}, 300)
        for run in range(failures):
            for name, net in LINKS:
                before = rpc.call("fib.stats")["link_ns"]["count"]
                lab.sh(name, "ip link set dev up down")
                wait_for("the loss of link " + name, lambda: rpc.call("fib.stats")["link_ns"]["count"] > before, 60, poll=0.01)
                sample("event_to_workers", "us", run, rpc.call("fib.stats")["link_last_ns"] / 1000, dut=name)
                wait_for("the way by %s to be gone" % name, lambda: ways(name, net, False), 60)
                lab.sh(name, "ip link set dev up up")
                wait_for("the way by %s to be back" % name, lambda: ways(name, net, True), 60)
                # the RIB evaluates again afterwards, in both directions: the next failure begins after the evaluation
                rpc.call("fib.audit", limit=1)
            if run % 10 == 9:
                say("%d failures of each" % (run + 1))


if __name__ == "__main__":
    main()
