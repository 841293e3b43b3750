#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""From UPDATE to the workers: keeld with its data plane on two veth ports has a table from each of two peers; one peer withdraws and announces
single prefixes, 1,000, 10,000 and 100,000 updates per second, and each update moves a prefix in the forwarding tables. Figures are keeld's own
(fib.stats, control.stats): time from the reading of an UPDATE until the change is visible, and until all workers use the change; commits, grace
periods, and the share of commits that waited for a stopped worker; slices and processor time of its threads.

The reading is the turn of keeld's session thread that decodes the message. Earlier waits of the message, in the socket and in the receive buffer, are
not included: where `achieved` (updates per second, until keeld has read the last update) is below the rate, messages waited, or the feed was late.
fib.stats is read after the tables contain all updates, so the slowest updates are included.

The worker has its own CPU; keeld's control threads, the peers and all other processes share the rest."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import FEED, KEELD, ROOT, Events, Lab, arguments, sample, say, wait_for  # noqa: E402
from lab import Hugepages, at_rest, cpus_of_lab  # noqa: E402

RATES = (1000, 10000, 100000)
SECONDS = 10
PEERS = (("pa", 1), ("pb", 2))
HISTOGRAMS = (("update_to_fib", "update_to_fib_ns"), ("update_to_workers", "update_to_workers_ns"), ("commit", "commit_ns"), ("grace", "grace_ns"))


def document(worker, control):
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": ["198.18.%d.1/24" % net]} for n, net in PEERS],
        "bgp": {"peers": [{"address": "198.18.%d.2" % net, "asn": 64600 + net, "passive": True, "enforce_first_as": False,
                           "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "deny-all"}}} for _, net in PEERS]},
    }


def load(lab, rpc, routes, control):
    """Two feeds of the same table; the first feed's address is lower, so its paths are best."""
    feeds = {}
    for name, net in PEERS:
        feeds[name] = Events(lab.spawn("feed-" + name, name, [FEED, "--connect", "198.18.%d.1" % net, "--source", "198.18.%d.2" % net, "--asn",
                                                             str(64600 + net), "--peer-asn", "64512", "--count", str(routes)], cpus=control, lines=True))
        feeds[name].wait("done", "table")

    def there():
        return [p["families"]["ipv4-unicast"]["accepted"] for p in rpc.call("bgp.peers")["peers"]] == [routes] * len(PEERS) and \
            rpc.call("fib.stats")["tables"][0]["routes"] >= routes
    wait_for("both tables", there, 300)
    return feeds["pa"]


def updates(rpc):
    return sum(p["updates_received"] for p in rpc.call("bgp.peers")["peers"])


def shown(rpc):
    """Writes and visible changes so far."""
    s = rpc.call("fib.stats")
    return s["commits"], *(t["writes"] for t in s["tables"]), *(s[key]["count"] for _, key in HISTOGRAMS)


def counters(rpc):
    s = rpc.call("fib.stats")
    return {"commits": s["commits"], "delayed": s["commits_delayed"], "late": s["grace_late"], "writes": sum(t["writes"] for t in s["tables"]),
            "updates": updates(rpc), "cpu": {t["name"]: t["cpu_s"] for t in rpc.call("control.stats")["threads"]}}


def measure(rpc, feed, rate, run):
    rpc.call("fib.audit", limit=1)  # waits for changes in transit
    rpc.call("dataplane.stats.reset")
    before, began = counters(rpc), time.monotonic()
    feed.say("pace %d %d %d" % (rate * SECONDS, rate, run + 1))
    feed.wait("done", "pace")
    wait_for("all updates read", lambda: updates(rpc) - before["updates"] >= rate * SECONDS, 60, poll=0.005)
    wall = time.monotonic() - began  # the feed's last octet may have been in the kernel long before
    at_rest(lambda: shown(rpc), 60, poll=0.2)  # the figures include the cost of the updates
    threads, gap = rpc.call("control.stats")["threads"], rpc.call("dataplane.stats")["workers"][0]["loop_gap_ns"]
    rpc.call("fib.audit", limit=1)  # after the updates, whose figures would include its walk: returns when the workers use all changes
    after, name, stats = counters(rpc), "%d_" % rate, rpc.call("fib.stats")
    moved = after["writes"] - before["writes"]
    if moved < rate * SECONDS / 2:
        raise RuntimeError("%d updates wrote only %d entries" % (rate * SECONDS, moved))
    sample(name + "achieved", "updates/s", run, (after["updates"] - before["updates"]) / wall)
    for metric, key in HISTOGRAMS:
        for p in ("p50", "p90", "p99", "p999", "max"):
            sample("%s%s_%s" % (name, metric, p), "us", run, stats[key][p] / 1000)
    commits = after["commits"] - before["commits"]
    sample(name + "commits", "commits", run, commits)
    sample(name + "entries_a_commit", "entries", run, moved / max(1, commits))
    sample(name + "commits_delayed_share", "%", run, 100 * (after["delayed"] - before["delayed"]) / max(1, commits))
    sample(name + "grace_late_share", "%", run, 100 * (after["late"] - before["late"]) / max(1, commits))
    for t in threads:
        short = t["name"].replace("keel-", "")
        sample("%scpu_%s" % (name, short), "s", run, t["cpu_s"] - before["cpu"][t["name"]])
        for p in ("p99", "max"):
            sample("%sslice_%s_%s" % (name, short, p), "us", run, t["slice_ns"][p] / 1000)
    sample(name + "loop_gap_p999", "us", run, gap["p999"] / 1000)
    sample(name + "loop_gap_max", "us", run, gap["max"] / 1000)


def main():
    args = arguments(__doc__, 5)
    worker, control = cpus_of_lab()
    with Hugepages(512), Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        for h in ["rt"] + [n for n, _ in PEERS]:
            lab.host(h)
        for name, net in PEERS:
            lab.link(name, "up", "198.18.%d.2/24" % net, "rt", name, None)
        _, rpc = lab.keeld("rt", document(worker, control), KEELD, idle="spin")
        feed = load(lab, rpc, args.routes, control)
        for run in range(args.runs):
            for rate in RATES:
                say("run %d of %d, %d updates/s" % (run + 1, args.runs, rate))
                measure(rpc, feed, rate, run)
        if rpc.call("fib.audit")["mismatch_count"] != 0:
            raise RuntimeError("the audit found mismatches")


if __name__ == "__main__":
    main()
