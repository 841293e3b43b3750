#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Soft reset of 1,000,000 routes, Keel beside BIRD, FRR, GoBGP and OpenBGPD: a policy changes, and a receiving peer waits for its last change.

  replay   import policy, routes kept by the daemon
  refresh  import policy, no kept routes: ROUTE-REFRESH, and the feed announces all routes again
  export   export policy towards the receiver

One external feed, one internal receiver (to see LOCAL_PREF), on a link of two namespaces; each daemon alone, in sequence, on the same processors. The
table and the policies come from ../shared/data if present; otherwise the benchmark generates a table and policies of the same shape. Unsupported
features of a daemon are left out and reported on standard error. For Keel, all changes of changes.json must give exactly the listed counts."""
import argparse
import contextlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, FEED, ROOT, Events, Lab, kept, mark, sample, say, wait_for  # noqa: E402
import duts  # noqa: E402
from duts import EVERYTHING, RT, US, FrrDut, Keel, Peer, Unable  # noqa: E402
import softreset_policies as policies  # noqa: E402

SINK = os.path.join(BUILD, "tests", "bench", "sink")
SHARED = os.environ.get("KEEL_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
FEED_ADDR, SINK_ADDR = "198.18.0.2", "198.18.0.3"
QUIET_S, LIMIT_S = 3, 900
SLOW_S = 15  # slower changes are measured once: noise is small in comparison
TOO_SLOW_S = 50  # after a slower change, no further changes are requested from the daemon: GoBGP takes minutes for each change
# a tenth of all origins match
TENTH = duts.policy("tenth", [{"seq": 10, "action": "deny", "match": {"as_path_list": "zero"}}, {"seq": 20, "action": "permit", "match": {}}],
                    as_path_lists=[{"name": "zero", "entries": [{"action": "permit", "regex": "0$"}]}])


class KeptFrr(FrrDut):
    """FRR keeps running between kinds, because loading its lists takes long. So only the first figures of memory are from a fresh daemon."""
    host, peers_host = "rt-frr", "peers-frr"
    alive = None

    def start(self, peers):
        if KeptFrr.alive is None:
            super().start(peers)
            KeptFrr.alive = self
            return
        self.__dict__.update(KeptFrr.alive.__dict__, lacks=set())
        KeptFrr.alive = self
        self.prepare(peers)
        self.apply()

    def stop(self):
        """Ends the sessions with the peers; close() ends the daemon."""

    @classmethod
    def close(cls):
        if cls.alive:
            super(KeptFrr, cls.alive).stop()
            cls.alive = None


DUTS = [KeptFrr if d is FrrDut else d for d in duts.ALL]


def hosts(cls):
    return getattr(cls, "host", "rt"), getattr(cls, "peers_host", "peers")


def peers(kind, policy, feed_asn):
    """Peers with `policy` in the direction of `kind`."""
    imports, exports = (policy, EVERYTHING) if kind != "export" else (EVERYTHING, policy)
    return [Peer(FEED_ADDR, feed_asn, imports=imports, keep=kind == "replay"), Peer(SINK_ADDR, US, exports=exports)]


# ---- a run ----

class Run:
    def __init__(self, lab, dut, table, kind, policy):
        self.lab, self.dut, self.kind, self.feed_asn = lab, dut, kind, table.asn
        if kind == "refresh" and not dut.asks_refresh:
            raise Unable("asking for a refresh when a policy changes: it keeps all routes")
        dut.start(peers(kind, policy, table.asn))
        common = ["--connect", RT]
        self.feed = Events(lab.spawn("feed-" + dut.name, hosts(type(dut))[1], [FEED, *common, "--source", FEED_ADDR, "--next-hop", FEED_ADDR, "--asn", str(table.asn), "--peer-asn", str(US), *table.feed], lines=True))
        self.sink = Events(lab.spawn("sink-" + dut.name, hosts(type(dut))[1], [SINK, *common, "--source", SINK_ADDR, "--asn", str(US)], lines=True))
        begin = time.monotonic()
        self.sink.wait("established", timeout=120)
        self.feed.wait("done", "table")
        self.quiet(begin)

    def quiet(self, since):
        """Waits until no UPDATE has come for QUIET_S and the daemon is idle: seconds from `since` to the last difference, 0 without a difference."""
        change, cpu, still = None, self.dut.cpu_seconds(), time.monotonic()

        def settled():
            nonlocal change, cpu, still
            self.dut.must_run()
            seen, used = self.sink.ask("stat", "stat")["change_ns"], self.dut.cpu_seconds()
            now = time.monotonic()
            if seen != change or used - cpu > 0.02:
                still = now
            change, cpu = seen, used
            return now - still >= QUIET_S
        wait_for("the receiver of %s to hear no more" % self.dut.name, settled, LIMIT_S, poll=0.25)
        return max(0, change / 1e9 - since)

    def change(self, policy):
        """(seconds, CPU seconds, report)"""
        self.dut.prepare(peers(self.kind, policy, self.feed_asn))
        self.sink.ask("mark", "done")
        cpu, begin = self.dut.cpu_seconds(), time.monotonic()
        self.dut.apply()
        seconds = self.quiet(begin)
        return seconds, self.dut.cpu_seconds() - cpu, self.sink.ask("report", "report")

    def close(self):
        for p in (self.sink, self.feed):
            p.process.stop()
        self.dut.stop()


class Table:
    """The feed's table, and matching policies."""

    def __init__(self, args, folder):
        data = os.path.join(SHARED, "data")
        if args.quick or args.routes or not os.path.exists(data):
            count = args.routes or (100000 if args.quick else 1000000)
            listed = os.path.join(folder, "list.txt")
            subprocess.run([FEED, "--count", str(count), "--list", listed], check=True)
            prefixes = [line.split()[0] for line in open(listed)]
            self.asn, self.feed = 64601, ["--count", str(count)]
            self.changes, self.what = policies.generated(prefixes, self.asn), "%d generated routes" % count
        else:
            mrt = os.path.join(folder, "full.mrt")
            subprocess.run([sys.executable, os.path.join(data, "gen_table.py"), "--out", mrt], check=True, stdout=subprocess.DEVNULL)
            self.asn, self.feed = 3356, ["--mrt", mrt]
            self.changes, self.what = policies.shared(os.path.join(data, "policies")), "the table of gen_table.py"


def measured(run, cls, kind, change, i):
    dut = run.dut
    run.change(change.before)
    seconds, cpu, report = run.change(change.after)
    counts = {k: report[k] for k in ("added", "removed", "changed")}
    say("%s %s %s: %.2f s, %.2f CPU s, %s%s" % (cls.name, kind, change.key, seconds, cpu, counts, "; left out: %s" % ", ".join(sorted(dut.lacks)) if dut.lacks else ""))
    if not sum(counts.values()):
        raise Unable("nothing came of it")
    if not report["established"]:
        raise RuntimeError("%s dropped the receiver's session" % cls.name)
    if cls is Keel and change.expected and kind != "export" and counts != change.expected:
        raise RuntimeError("expected %s" % change.expected)
    sample("%s_%s" % (kind, change.key), "s", i, seconds, dut=cls.name)
    sample("%s_%s_cpu" % (kind, change.key), "CPU-s", i, cpu, dut=cls.name)
    sample("%s_%s_routes" % (kind, change.key), "routes", i, sum(counts.values()), dut=cls.name)
    return seconds


def compared(lab, cls, table, kind, runs, too_slow):
    """The changes used for comparison, each from before to after."""
    if cls in too_slow:
        mark("unable", kind, cls.name, "left out, it took %.0f s for one change" % too_slow[cls])
        return
    dut = cls(lab, hosts(cls)[0])
    try:
        run = Run(lab, dut, table, kind, EVERYTHING)
    except Unable as e:
        mark("unable", kind, cls.name, "can't: %s" % e)
        return
    try:
        sample("%s_memory" % kind, "MB", 0, dut.resident_bytes() / 1e6, dut=cls.name)
        for c in (c for c in table.changes if c.key):
            if cls in too_slow:
                mark("unable", "%s_%s" % (kind, c.key), cls.name, "left out as well")
                continue
            try:
                for i in range(runs):
                    seconds = measured(run, cls, kind, c, i)
                    if seconds > TOO_SLOW_S:
                        too_slow[cls] = seconds
                    if seconds > SLOW_S:
                        break
            except Unable as e:
                mark("unable", "%s_%s" % (kind, c.key), cls.name, "can't: %s" % e)
    finally:
        run.close()


def counted(lab, table):
    """Checks that every change of kept routes gives exactly the counts of changes.json."""
    for c in table.changes:
        if c.expected is None:
            continue
        run = Run(lab, Keel(lab), table, "replay", c.before)
        _, cpu, report = run.change(c.after)
        run.close()
        counts = {k: report[k] for k in ("added", "removed", "changed")}
        say("keel %s: %s, %d messages, %.2f CPU s" % (c.name, counts, report["updates"], cpu))
        if counts != c.expected:
            raise RuntimeError("%s: expected %s" % (c.name, c.expected))


def memory(lab, table, runs):
    """Measures memory with a tenth of the routes rejected, with and without keep_all_routes."""
    for i in range(runs):
        for kind, name in (("refresh", "not-kept"), ("replay", "kept")):
            run = Run(lab, Keel(lab), table, kind, TENTH)
            sample("resident", "MB", i, run.dut.resident_bytes() / 1e6, dut=name)
            run.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--quick", action="store_true", help="100,000 generated routes, one run")
    ap.add_argument("--runs", type=int, help="default 3")
    ap.add_argument("--routes", type=int, help="so many generated ones")
    ap.add_argument("--dut", default=",".join(d.name for d in DUTS))
    ap.add_argument("--kind", default="replay,refresh,export,counts,memory")
    args = ap.parse_args()
    runs, kinds = args.runs or (1 if args.quick else 3), args.kind.split(",")
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        for host, far in sorted(set(map(hosts, DUTS))):
            lab.host(host)
            lab.host(far)
            lab.link(host, "east", [RT + "/24"], far, "east", [FEED_ADDR + "/24", SINK_ADDR + "/24"])
        table = Table(args, lab.dir)
        say("%s; %s" % (table.what, ", ".join("%s %s" % (d.name, d.version()) for d in DUTS)))
        too_slow, done = {}, {tuple(w[2:5]) for w in kept() if w[:2] == ["#", "done"]}
        with contextlib.closing(KeptFrr):
            for kind in (k for k in ("replay", "refresh", "export") if k in kinds):
                for cls in (d for d in DUTS if d.name in args.dut.split(",") and (kind, d.name, str(runs)) not in done):
                    compared(lab, cls, table, kind, runs, too_slow)
                    mark("done", kind, cls.name, "%d 0" % runs)
            if "counts" in kinds and "keel" in args.dut:
                counted(lab, table)
            if "memory" in kinds and "keel" in args.dut:
                memory(lab, table, runs)


if __name__ == "__main__":
    main()
