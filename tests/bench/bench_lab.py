# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the benchmarks of the whole daemon: keeld without a data plane in a separate namespace, fed over its loopback, a crowd of peers, and
samples in the form of scripts/bench (METRIC DUT UNIT RUN VALUE)."""
import argparse
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from lab import Lab, wait_for  # noqa: E402,F401

BUILD = os.path.abspath(os.environ.get("KEEL_BUILD", os.path.join(ROOT, "build")))
KEELD = os.path.join(BUILD, "control", "keeld")
FEED, CROWD = (os.path.join(BUILD, "tests", "bench", n) for n in ("feed", "crowd"))
TICKS = os.sysconf("SC_CLK_TCK")
V4, V6 = "ipv4-unicast", "ipv6-unicast"
ACCEPT = {"import_policy": "accept-all", "export_policy": "accept-all"}


def arguments(description, runs):
    ap = argparse.ArgumentParser(description=description)
    ap.add_argument("--quick", action="store_true", help="a tenth of the routes, one run")
    ap.add_argument("--runs", type=int, help="default %d" % runs)
    args = ap.parse_args()
    args.runs = args.runs or (1 if args.quick else runs)
    args.routes = 100000 if args.quick else 1000000
    return args


def sample(metric, unit, run, value, dut="keel"):
    print("%s %s %s %d %.6g" % (metric, dut, unit, run, value), flush=True)


def kept():
    """The words of each line kept by scripts/bench for this scenario, samples and marks."""
    path = os.environ.get("KEEL_BENCH_DONE")
    return [line.split() for line in open(path)] if path else []


def mark(word, step, dut, text):
    """Prints a mark, which scripts/bench stores (tests/bench/samples.py)."""
    print("# %s %s %s %s" % (word, step, dut, text), flush=True)


def say(text):
    sys.stderr.write(text + "\n")


def cpu_seconds(process):
    with open("/proc/%d/stat" % process.popen.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(process):
    with open("/proc/%d/statm" % process.popen.pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peer(addr, asn, policy=None, **more):
    return {"address": addr, "asn": asn, "passive": True, "enforce_first_as": False, "families": {V4: policy or ACCEPT}, **more}


def addresses(first, count):
    """`first` and the following addresses, counted like crowd."""
    a, b, c, d = map(int, first.split("."))
    n = (a << 24) + (b << 16) + (c << 8) + d
    return [".".join(str((n + i) >> s & 255) for s in (24, 16, 8, 0)) for i in range(count)]


class Events:
    """A program that prints one JSON object per line and takes commands."""

    def __init__(self, process):
        self.process = process

    def say(self, text):
        self.process.say(text)

    def next(self, timeout):
        line = self.process.line(timeout)
        if line is None:
            self.process.popen.wait()
            self.process.must_run()
        e = json.loads(line)
        if e["event"] in ("down", "error"):
            raise RuntimeError("%s: %s" % (self.process.name, line.strip()))
        return e

    @staticmethod
    def answers(e, event, command):
        return e["event"] == event and (command is None or e.get("command") == command)

    def wait(self, event, command=None, timeout=600):
        while True:
            e = self.next(timeout)
            if self.answers(e, event, command):
                return e

    def ask(self, text, event):
        self.say(text)
        return self.wait(event)


class Bench:
    """keeld in namespace `rt`, with `peers`; feeds and crowds speak to 127.0.0.1 from 127/8."""

    def __init__(self, lab, peers, document=None):
        lab.host("rt")
        # as a document for this daemon alone: routes of 127/8 need no resolvable next hop
        config = {"router": {"asn": 64512, "router_id": "127.0.0.1"}, "bgp": {"next_hop_tracking": False, "peers": peers}}
        for key, value in (document or {}).items():
            config.setdefault(key, {}).update(value) if isinstance(value, dict) else config.__setitem__(key, value)
        self.lab = lab
        self.keeld, self.rpc = lab.keeld("rt", config, KEELD, args=["--no-dataplane"])

    def feed(self, source, asn, count, seed=1):
        f = Events(self.lab.spawn("feed-" + source, "rt", [FEED, "--connect", "127.0.0.1", "--source", source, "--asn", str(asn),
                                                           "--next-hop", "192.0.2.2", "--peer-asn", "64512", "--count", str(count), "--seed", str(seed)], lines=True))
        f.wait("done", "table")
        return f

    def crowd(self, first, asn, count, hold=90, name="crowd"):
        return Events(self.lab.spawn(name, "rt", [CROWD, "--connect", "127.0.0.1", "--source", first, "--asn", str(asn), "--peers", str(count),
                                                  "--hold", str(hold)], lines=True))

    def peers(self):
        return {p["address"]: p for p in self.rpc.call("bgp.peers")["peers"]}

    def wait_established(self, wanted):
        wait_for("sessions of all", lambda: all(self.peers()[a]["state"] == "established" for a in wanted), 60)

    def wait_advertised(self, wanted, count, timeout=600):
        def there():
            p = self.peers()
            return all(p[a]["families"][V4]["advertised"] >= count for a in wanted)
        wait_for("%d routes advertised to all" % count, there, timeout, poll=0.2)

    def refresh(self, addr):
        return self.peers()[addr]["families"][V4]["refresh"]
