# SPDX-License-Identifier: BSD-3-Clause
"""Limits of keelbench on this machine, with its own ends on both sides: routes per second from a feed and into a receiver, numbered packets per
second without loss, and their latency."""
import json
import os

from bench_lab import FEED, Events
from .field import PROBE, SINK
from lab import wait_for

ROUTES = 200000
STEPS = (20000, 50000, 100000, 200000)
SECONDS = 1


def routes(lab):
    sink = Events(lab.spawn("limit-sink", "la", [SINK, "--listen", "198.18.8.1", "--asn", "64999"], lines=True))
    feed = Events(lab.spawn("limit-feed", "lb", [FEED, "--connect", "198.18.8.1", "--source", "198.18.8.2", "--asn", "64601", "--peer-asn", "64999",
                                                 "--count", str(ROUTES)], lines=True))
    begin = feed.wait("sending")["time_ns"]
    out = feed.wait("done", "table")["time_ns"]

    def all_there():
        return sink.ask("report", "report")["total"] >= ROUTES
    wait_for("the receiver's table", all_there, 60, poll=0.05)
    last = sink.ask("stat", "stat")["change_ns"]
    for e in (feed, sink):
        e.process.stop()
    # a feed encodes while it reports its start; the faster writing of encoded routes is not counted as its rate
    return {"routes_out_per_s": round(ROUTES / max(1e-9, (out - begin) / 1e9)), "routes_in_per_s": round(ROUTES / max(1e-9, (last - begin) / 1e9))}


def packets(lab, out, seconds=SECONDS):
    """The fastest step without loss, and the latency of each step."""
    best, latency = 0, {}
    drawn = lab.write("limit.txt", "".join("203.0.113.%d 0\n" % i for i in range(1, 200)))
    for pps in STEPS:
        folder = os.path.join(out, "limit-%d" % pps)
        os.makedirs(folder, exist_ok=True)
        p = lab.spawn("limit-probe-%d" % pps, None, [PROBE, "--from", lab.netns("lb"), "--to", lab.netns("la") + ":eth0", "--destinations", drawn,
                                                     "--pps", str(pps), "--out", folder], lines=True)
        p.say("mask 0 1")
        p.line(30)
        try:
            p.popen.wait(seconds)
        except Exception:  # runs until stopped
            pass
        p.say("stop")
        p.popen.wait(60)
        with open(os.path.join(folder, "probe.json")) as f:
            r = json.load(f)
        lost = r["lost"] + r["send_errors"]
        reached = r["received"] / seconds
        latency[pps] = r["latency_us"]["rest"]["p999"]
        if lost or reached < 0.9 * pps:
            break
        best = pps
    return best, latency


def measure(lab, out):
    lab.host("la")
    lab.host("lb")
    lab.link("la", "eth0", ["198.18.8.1/24"], "lb", "eth0", ["198.18.8.2/24"])
    lab.sh("lb", "ip route add default via 198.18.8.1")
    r = routes(lab)
    best, latency = packets(lab, out)
    first = min(latency)
    r.update({"packets_per_s_without_loss": best if best else "less than %d" % STEPS[0], "latency_p999_us_at_%d_pps" % first: latency[first]})
    return r
