#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full table read by pages of rib.routes during changes of import and export policies: a route present throughout appears exactly once, the
daemon grows by at most 16 MiB, keepalives are on time, and commits are answered meanwhile. Before that, `keelctl show route` prints the whole table in at
most 16 MiB. 100,000 routes; KEEL_FULL=1: 1,000,000.

    rt (keeld, AS 64512) --- f (feed, AS 64601, keep_all_routes), r (a speaker, AS 64602)
"""
import os
import subprocess
import sys
import threading
import time

import labtest
from labtest import FEED, KEELCTL, KEELD, V4, Lab, Rpc, Speaker, memory_kb, need, out_folder, peer, wait_established, wait_for, wait_job

NAME = "rib_pages"
FEEDER, READER = "198.18.1.2", "198.18.2.2"
COUNT = 1000000 if os.environ.get("KEEL_FULL") else 50000
GROWTH_MIB, KEELCTL_MIB = 16, 16
LATE_NS = 3000000000  # for a keepalive due every 2 s; a peer tolerates 90


def policies(n):
    """Import: a quarter of the table is refused and accepted in turn, another quarter changes its preference. Export: another MED for a quarter."""
    first = {"seq": 10, "match": {"prefix_list": "quarter-1"}}
    first.update({"action": "deny"} if n % 2 else {"action": "permit", "set": {"local_pref": 90}})
    return [{"name": "in", "nodes": [first, {"seq": 20, "action": "permit", "match": {"prefix_list": "quarter-2"}, "set": {"local_pref": 200 + n % 2}},
                                     {"seq": 30, "action": "permit", "match": {}}]},
            {"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "quarter-2"}, "set": {"med": n % 2}},
                                      {"seq": 20, "action": "permit", "match": {}}]}]


CONFIG = {
    "router": {"asn": 64512, "router_id": "198.18.0.1"},
    "prefix_lists": [{"name": "quarter-1", "entries": [{"action": "permit", "prefix": "0.0.0.0/2", "le": 32}]},
                     {"name": "quarter-2", "entries": [{"action": "permit", "prefix": "64.0.0.0/2", "le": 32}]}],
    "route_policies": policies(0),
    "bgp": {"peers": [{"address": FEEDER, "asn": 64601, "enforce_first_as": False, "timers": {"keepalive_s": 2}, "families": {V4: {"import_policy": "in", "export_policy": "deny-all", "keep_all_routes": True}}},
                      {"address": READER, "asn": 64602, "timers": {"keepalive_s": 2}, "families": {V4: {"import_policy": "deny-all", "export_policy": "out"}}}]},
}


class Changer(threading.Thread):
    """Commits the policies in turn; `changes` counts commits with completed jobs."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.rpc, self.over, self.changes, self.slowest, self.error = Rpc(path), threading.Event(), 0, 0.0, None

    def run(self):
        try:
            while not self.over.wait(0.5):  # without a rest, changes take most of the processor from the pages
                self.rpc.call("config.edit", patch=[{"op": "replace", "path": "/route_policies", "value": policies(self.changes + 1)}])
                begin = time.monotonic()
                effects = self.rpc.call("config.commit")["effects"]
                self.slowest = max(self.slowest, time.monotonic() - begin)
                for e in effects:
                    if e.get("job"):
                        wait_job(self.rpc, e["job"], 300)
                self.changes += 1
        except Exception as e:  # reported by the test
            self.error = e

    def stop(self):
        self.over.set()
        self.join()


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("rt", "f", "r"):
            lab.host(h)
        lab.link("f", "up", FEEDER + "/24", "rt", "to-f", "198.18.1.1/24")
        lab.link("r", "up", READER + "/24", "rt", "to-r", "198.18.2.1/24")
        self.keeld, self.rpc = lab.keeld("rt", CONFIG, KEELD, args=["--no-dataplane"])
        self.path = os.path.join(lab.dir, "keeld.sock")
        lab.spawn("feed", "f", [FEED, "--count", str(COUNT), "--connect", "198.18.1.1", "--source", FEEDER, "--asn", "64601", "--peer-asn", "64512"],
                  lines=True)
        self.receiver = Sink(lab.netns("r"), READER, "198.18.2.1", 64602).up()
        wait_established(self.rpc, FEEDER, READER)
        wait_for("the table", lambda: self.family(FEEDER)["received"] == COUNT, 300)
        wait_for("the receiver's", lambda: self.family(READER)["advertised"] == COUNT, 300)

    def family(self, address):
        return peer(self.rpc, address)["families"][V4]

    def resident(self):
        return memory_kb(self.keeld.popen.pid) / 1024

    def peak(self):
        return memory_kb(self.keeld.popen.pid, "VmHWM") / 1024

    def peak_reset(self):
        with open("/proc/%d/clear_refs" % self.keeld.popen.pid, "w") as f:
            f.write("5")  # proc(5): VmHWM begins at the present VmRSS

    def read(self, rpc, **view):
        """{prefix: count} of one reading of all pages; number of pages, and the slowest page's time."""
        seen, pages, slowest, page = {}, 0, 0.0, {}
        while True:
            begin = time.monotonic()
            r = rpc.call("rib.routes", family=V4, limit=1000, **view, **page)
            slowest = max(slowest, time.monotonic() - begin)
            pages += 1
            for route in r["routes"]:
                seen[route["prefix"]] = seen.get(route["prefix"], 0) + 1
            if "next" not in r:
                return seen, pages, slowest
            page = {"cursor": r["next"]}

    def show_route(self):
        """A long AS path goes on in another line, without a prefix."""
        begin, seen, peak = time.monotonic(), set(), 0
        p = subprocess.Popen([KEELCTL, "--socket", self.path, "show", "route"], stdout=subprocess.PIPE)
        for n, line in enumerate(p.stdout):
            prefix = line[3:].split(None, 1)[0]
            if b"/" in prefix and line[3:4] != b" ":
                seen.add(prefix)
            if n % 10000 == 0:
                peak = max(peak, memory_kb(p.pid, "VmHWM") / 1024)
        self.c.equal("keelctl show route: each route, and exit status 0", (len(seen), p.wait()), (COUNT, 0))
        print("     in %.1f s" % (time.monotonic() - begin))
        self.c.true("... in at most %d MiB (%.1f)" % (KEELCTL_MIB, peak), 0 < peak <= KEELCTL_MIB, peak)

    def change(self, times):
        """Runs changes without a reader, to measure the cost of changes alone."""
        changer = Changer(self.path)
        changer.changes = self.changes
        changer.start()
        wait_for("%d changes" % times, lambda: changer.changes >= self.changes + times or changer.error, 300)
        changer.stop()
        self.changes = changer.changes
        if changer.error:
            raise changer.error

    def run(self):
        c = self.c
        self.build()
        self.show_route()
        self.changes = 0
        self.change(2)
        self.peak_reset()
        self.change(1)
        alone = self.peak()
        rpc = Rpc(self.path)
        quiet, pages, _ = self.read(rpc, view="adj-in-pre", peer=FEEDER)
        c.equal("all pages of a quiet table: each route once", (len(quiet), set(quiet.values())), (COUNT, {1}))
        throughout = {p for p in quiet if int(p.split(".")[0]) >= 64}
        before = self.resident()
        self.peak_reset()
        changer = Changer(self.path)
        changer.changes = self.changes
        changer.start()
        for name, view, whole in (("adj-in", {"view": "adj-in", "peer": FEEDER}, throughout), ("loc", {"view": "loc"}, throughout),
                                  ("adj-in-pre", {"view": "adj-in-pre", "peer": FEEDER}, set(quiet)),
                                  ("adj-out", {"view": "adj-out", "peer": READER}, throughout)):
            began = changer.changes
            seen, pages, slowest = self.read(rpc, **view)
            while changer.changes == began and not changer.error:
                seen, pages, slowest = self.read(rpc, **view)
            c.equal("%s, %d pages while policies change: what is there throughout comes" % (name, pages), len(whole - set(seen)), 0)
            c.equal("... nothing comes twice", [p for p, n in seen.items() if n > 1][:3], [])
            c.true("... the slowest page came in time (%.2f s)" % slowest, slowest < 10, slowest)
        changer.stop()
        c.true("policies changed meanwhile (%d times)" % (changer.changes - self.changes), changer.changes - self.changes >= 2 and not changer.error, changer.error)
        c.true("a commit was answered in time (%.2f s)" % changer.slowest, changer.slowest < 10, changer.slowest)
        peak = self.peak()
        print("     resident: %.0f MiB before, at most %.0f MiB by changes alone, at most %.0f MiB by changes and pages" % (before, alone, peak))
        c.true("the daemon grew by at most %d MiB" % GROWTH_MIB, peak - max(alone, before) <= GROWTH_MIB, "%.1f MiB" % (peak - max(alone, before)))
        late = rpc.call("bgp.peers")["keepalive_late_ns"]
        c.true("keepalives were on time (at most %.3f s late)" % (late["max"] / 1e9), late["count"] > 0 and late["max"] < LATE_NS, late)
        c.equal("the sessions live on", [(p["state"], p["established_count"]) for p in rpc.call("bgp.peers")["peers"]], [("established", 1)] * 2)


class Sink(Speaker):
    """A speaker that reads all messages, and stores none."""

    def learn(self, come, gone, route, end):
        del self.received[:]


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", files=(KEELD, FEED))
    sys.exit(labtest.main(test))
