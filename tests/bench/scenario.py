# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the scenarios side by side with other daemons: a namespace in which each daemon in turn is connected to peers on separate addresses
(over the loopback, so that figures include no link), waiting until the daemon is idle, and the order of runs.

Beside samples (bench_lab.sample) a scenario prints marks, kept by scripts/bench to continue a stopped scenario:
  # done STEP DUT RUN SECONDS  this run of this step is complete
  # once STEP DUT WORDS        no more runs: a run takes too long
  # unable STEP DUT WORDS      no more runs, with the reason
Existing samples and marks are in the file named by KEEL_BENCH_DONE.
"""
import argparse
import collections
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench_lab  # noqa: E402
from bench_lab import BUILD, CROWD, FEED, ROOT, V4, V6, Events, Lab, addresses, kept, mark, say, wait_for  # noqa: E402,F401
import duts  # noqa: E402
from report import LESS_IS_BETTER  # noqa: E402
from duts import EVERYTHING, RT, US, Peer, Unable, policy  # noqa: E402,F401

FAN, ORACLE = (os.path.join(BUILD, "tests", "bench", n) for n in ("fan", "oracle"))
FEEDS, RECEIVERS, LATE, PROBES = "198.18.0.2", "198.18.1.1", "198.18.2.1", "198.18.3.1"
CLIENTS = "198.18.32.1"  # room for 4,095
CLIENT_ASN = 4200000001
FEED_ASN = 64601
RT6, NEXT_HOP6 = "2001:db8:12::1/64", "2001:db8:12::%x"
PER_SET = 8  # prefixes for each attribute set
IDLE = 0.03  # share of a processor: below, the daemon is idle
LIMIT_S, ONCE_S = 120, 60  # limit of a step; slower steps run once
AGAIN_S = 20  # limit for a daemon that is best of the others in no metric
QUICK_LIMIT_S = 20
PROBE_MS = 5


class Wrong(Exception):
    """Receivers hold other tables than the oracle's."""


def bound(seconds):
    return min(seconds, QUICK_LIMIT_S) if "--quick" in sys.argv else seconds


values = collections.defaultdict(list)  # (metric, dut): values measured now and before
units = {}


def sample(metric, unit, run, value, dut):
    values[metric, dut].append(value)
    units[metric] = unit
    bench_lab.sample(metric, unit, run, value, dut=dut)


class Arena:
    """Namespace `rt`: the daemon has RT, on a link used for its peers; the peers' addresses are local to the host. With `far` the peers are behind
    the link, and the daemon has the address on this end."""

    def __init__(self, lab, host="rt", far=None):
        self.lab, self.host, self.far, self.serial = lab, host, far or host, 0
        lab.host(host)
        if far:
            lab.host(far)
        lab.link(host, "east", None if far else [RT + "/16"], self.far, "west", ["198.18.255.254/16"] if far else None)
        lab.sh(host, "sysctl -qw net.ipv6.conf.east.disable_ipv6=0 && ip addr add %s dev east nodad" % RT6)
        for net in ("198.18.0.2/31", "198.18.0.4/30", "198.18.0.8/29", "198.18.0.16/28", "198.18.0.32/27", "198.18.0.64/26",
                    "198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24", "198.18.32.0/19"):
            lab.sh(self.far, "ip route add local %s dev lo table local" % net)

    @contextlib.contextmanager
    def dut(self, cls, peers, **options):
        """Runs a daemon with these peers; ends together with all processes started by feed, fan and crowd."""
        self.mine = []
        dut = cls(self.lab, self.host, **options)
        try:
            dut.start(peers)
            yield dut
        finally:
            for p in reversed(self.mine):
                p.stop()
            if dut.process is not None:
                dut.stop()
            for p in self.mine:
                self.lab.processes.remove(p)
                p.popen.stdin.close()
                p.popen.stdout.close()

    def spawn(self, name, command):
        self.serial += 1
        p = self.lab.spawn("%s-%d" % (name, self.serial), self.far, list(map(str, command)), lines=True)
        self.mine.append(p)
        return Events(p)

    def feed(self, i, routes, per_set=PER_SET):
        """Starts a feed. All feeds have the same prefixes, with attributes of their own; a feed sends after the command `go`."""
        a = addresses(FEEDS, i + 1)[i]
        return self.spawn("feed", [FEED, "--connect", RT, "--source", a, "--next-hop", a, "--asn", 64601 + i, "--peer-asn", US, "--count", routes,
                                   "--per-set", per_set, "--attributes", i + 1, "--wait"])

    def own_feeds(self, tables):
        """The feeds of `tables`; each starts sending at `go`."""
        return [self.spawn("feed", [FEED, "--connect", RT, "--source", a, "--next-hop", NEXT_HOP6 % (i + 2) if tables.ipv6 else a, "--asn", FEED_ASN + i,
                                    "--peer-asn", US, "--attributes", i + 1, "--own-as", "--wait", *tables.options()])
                for i, a in enumerate(addresses(FEEDS, tables.feeds))]

    def fan(self, peers, first=RECEIVERS, asn=65001, *more):
        return self.spawn("fan", [FAN, "--connect", RT, "--source", first, "--asn", asn, "--peers", peers, *more])

    def holders(self, peers, first=RECEIVERS, asn=65001, *more):
        """A fan whose peers all keep their tables, for must_hold()."""
        return self.fan(peers, first, asn, "--count", peers, "--tables", *more)

    def crowd(self, peers, first, asn, hold=90):
        return self.spawn("crowd", [CROWD, "--connect", RT, "--source", first, "--asn", asn, "--peers", peers, "--hold", hold, "--next-hop", first])


class Tables(collections.namedtuple("Tables", "feeds routes per_set hops communities ipv6", defaults=(PER_SET, 0, 0, False))):
    """Tables of several feeds with the same prefixes; attributes and order of each feed are its own."""

    def options(self):
        return ["--count", self.routes, "--per-set", self.per_set, "--shuffle", "--hops", self.hops, "--communities", self.communities] + ["--ipv6"] * self.ipv6

    @functools.lru_cache(maxsize=None)
    def expected(self, receivers=1, denied=(), tag=0, origins=()):
        """What the receivers must hold, in the form of fan's `tables`."""
        words = [ORACLE, *self.options(), "--feeds", self.feeds, "--asn", FEED_ASN, "--us", US, "--receivers", receivers, "--tag", tag]
        for option, asns in (("--denied", denied), ("--origins", origins)):
            words += [option, ",".join(map(str, asns))] if asns else []
        return json.loads(subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout)


def must_hold(fan, expected):
    """The tables of all receivers equal the oracle's."""
    seen = fan.ask("tables", "tables")
    wrong = [i for i, pair in enumerate(zip(expected["held"], expected["sum"])) if pair != (seen["held"][i], seen["sum"][i])]
    if wrong or len(seen["held"]) != len(expected["held"]):
        raise Wrong("%d of %d receivers differ from the oracle: receiver %d holds %d prefixes instead of %d%s" % (
            len(wrong), len(expected["held"]), wrong[0], seen["held"][wrong[0]], expected["held"][wrong[0]],
            ", with other attributes" if seen["held"][wrong[0]] == expected["held"][wrong[0]] else ""))


def feeds(n, **more):
    return [Peer(a, FEED_ASN + i, imports=more.get("imports", EVERYTHING), keep=more.get("keep", False), families=more.get("families", (V4,)))
            for i, a in enumerate(addresses(FEEDS, n))]


def receivers(n, first=RECEIVERS, asn=65001, exports=EVERYTHING, families=(V4,)):
    return [Peer(a, asn + i, exports=exports, families=families) for i, a in enumerate(addresses(first, n))]


# The transit ASes of the generated tables (table.c): each is in some 5 % of the paths.
TRANSITS = (174, 1299, 2914, 3257, 3320, 3356, 3491, 5511, 6453, 6461, 6762, 6830, 6939, 7018, 9002, 12956)


def denied_ases(n):
    """An AS for each of n clients: the transits, then ASes with some 5 of 100,000 paths."""
    return tuple((TRANSITS + tuple(20001 + i for i in range(n)))[:n])


def clients(n, tag=0):
    """Receivers with an export policy each: client i gets no path through the i-th of denied_ases(), and its routes have the community US:tag+i."""
    return [Peer(a, CLIENT_ASN + i, exports=policy("client-%d" % i, [
        {"seq": 10, "action": "deny", "match": {"as_path_list": "denied-%d" % i}},
        {"seq": 20, "action": "permit", "match": {}, "set": {"communities": {"add": ["%d:%d" % (US, tag + i)]}}}],
        as_path_lists=[{"name": "denied-%d" % i, "entries": [{"action": "permit", "regex": "_%d_" % asn}]}]))
        for i, (a, asn) in enumerate(zip(addresses(CLIENTS, n), denied_ases(n)))]


def idle(dut, seconds=0.5, limit=LIMIT_S, busy=IDLE):
    """Waits until the daemon is idle."""
    settled(dut, None, 0, seconds, limit, busy=busy)


def settled(dut, fan, routes, quiet_s=1.0, limit=LIMIT_S, probing=False, may_lose=False, busy=IDLE):
    """Waits until the fan has received `routes` routes, and then, for quiet_s, the fan has received no more and the daemon has used no CPU (not required
    while probed). Returns the fan's last `stat`, with the daemon's `cpu` at the last reception. `may_lose`: after a lost session the run continues, and
    does not wait for `routes` any more."""
    seen, still, cpu, at, stat = None, time.monotonic(), dut.cpu_seconds(), time.monotonic(), None

    def done():
        nonlocal seen, still, cpu, at, stat
        dut.must_run()
        before, stat = stat, fan.ask("stat", "stat") if fan else {"lost": 0, "routes": 0, "last_ns": 0}
        if stat["lost"] and not may_lose:
            raise Unable("it drops %d sessions" % stat["lost"])
        now, used = time.monotonic(), dut.cpu_seconds()
        stat["cpu"] = used if stat["last_ns"] != seen or not probing else before["cpu"]
        if stat["last_ns"] != seen or (used - cpu > busy * (now - at) and not probing) or (stat["routes"] < routes and not stat["lost"]):
            still = now
        seen, cpu, at = stat["last_ns"], used, now
        return now - still >= quiet_s
    limit = bound(limit)
    try:
        wait_for("all", done, limit, poll=0.1)
    except TimeoutError:
        raise Unable("no end within %d s (%d of %d routes)" % (limit, stat["routes"], routes)) from None
    return stat


def ready(dut, fan, said, may_lose=False, busy=IDLE):
    """All sessions are established (`may_lose`: or have had the time), and the daemon is idle."""
    try:
        fan.wait("established", timeout=bound(60))
    except TimeoutError:
        if not may_lose:
            raise
        fan.ask("keep", "done")
    for f in said:
        f.wait("ready")
    idle(dut, busy=busy)


def load(dut, fan, said, routes, may_lose=False, busy=IDLE, **more):
    """ready(), and send()."""
    ready(dut, fan, said, may_lose, busy)
    return send(dut, fan, said, routes, may_lose=may_lose, busy=busy, **more)


def send(dut, fan, said, routes, **more):
    """The feeds send their tables: (the fan's stat, seconds from the first octet to the fan's last UPDATE, CPU seconds of the daemon)."""
    cpu = dut.cpu_seconds()
    for f in said:
        f.say("go")
    begin = min(f.wait("sending")["time_ns"] for f in said)
    stat = settled(dut, fan, routes, **more)
    return stat, (stat["last_ns"] - begin) / 1e9, dut.cpu_seconds() - cpu


def single_updates(dut, fan, said, updates, limit=LIMIT_S):
    """Each feed changes single prefixes, `updates` messages in all, and restores them: CPU seconds of the daemon."""
    cpu = dut.cpu_seconds()
    for i, f in enumerate(said):
        f.say("single %d %d" % (updates // len(said), i + 1))
    for f in said:
        f.wait("done", "single", timeout=limit)
    settled(dut, fan, 0, limit=limit)
    return dut.cpu_seconds() - cpu


def change(dut, fan, peers, routes, quiet_s=1.0, **more):
    """Changes the peers' policies, with an effect on `routes` routes of the fan: (its stat, seconds from the commit to its last UPDATE, CPU
    seconds)."""
    fan.ask("mark", "done")
    dut.prepare(peers)
    idle(dut)
    cpu, begin = dut.cpu_seconds(), time.monotonic()
    dut.apply()
    stat = settled(dut, fan, routes, quiet_s, **more)
    return stat, stat["last_ns"] / 1e9 - begin, dut.cpu_seconds() - cpu


def ours(cls):
    return issubclass(cls, duts.Keel)


class Plan:
    """Options of a scenario, and its existing results."""

    def __init__(self, description, runs, routes=1000000, quick_routes=20000, beside=tuple(d.name for d in duts.ALL[1:])):
        """`beside`: the other daemons unless --dut names others."""
        ap = argparse.ArgumentParser(description=description.splitlines()[0])
        ap.add_argument("--quick", action="store_true", help="%d routes, one run" % quick_routes)
        ap.add_argument("--runs", type=int, help="default %d" % runs)
        ap.add_argument("--routes", type=int, help="default %d" % routes)
        ap.add_argument("--dut", default=",".join(("keel", *beside)))
        ap.add_argument("--step", help="only steps that begin so")
        self.args = ap.parse_args()
        self.quick, self.runs = self.args.quick, self.args.runs or (1 if self.args.quick else runs)
        self.routes = self.args.routes or (quick_routes if self.args.quick else routes)
        self.classes = [d for d in duts.ALL if d.name in self.args.dut.split(",")]
        self.have, self.over, self.took = set(), set(), {}
        for words in kept():
            if words[0] != "#":
                values[words[0], words[1]].append(float(words[4]))
                units[words[0]] = words[2]
            elif words[1] == "done":
                self.have.add((words[2], words[3], int(words[4])))
                self.took[words[2], words[3]] = float(words[5])
            else:
                self.over.add((words[2], words[3]))

    @contextlib.contextmanager
    def arena(self):
        with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
            yield Arena(lab)

    def others(self, metric):
        """{name: median} of all but Keel."""
        return {d: statistics.median(v) for (m, d), v in values.items() if m == metric and d in {c.name for c in duts.ALL} - {"keel"}}

    def best_other(self, metric):
        """The name of the other daemon with the smallest value."""
        medians = self.others(metric)
        return min(medians, key=medians.get, default=None)

    def near_best(self, metric, times):
        """The names of the other daemons with at most `times` the smallest value."""
        medians = self.others(metric)
        return {d for d, m in medians.items() if m <= times * min(medians.values())}

    def best_in_nothing(self, name):
        return not any(d == name and units[m] in LESS_IS_BETTER and self.best_other(m) == name for m, d in values)

    def end(self, word, step, dut, why):
        self.over.add((step, dut))
        mark(word, step, dut, why)
        say("%s %s: %s %s" % (step, dut, word, why))

    def alternate(self, step, classes, action, runs=None, once_s=ONCE_S):
        """Runs action(class, run) for each run, with the daemons in turn."""
        if self.args.step and not step.startswith(self.args.step):
            return
        for run in range(runs or self.runs):
            for cls in (c for c in classes if run and not ours(c) and (step, c.name) not in self.over and self.took.get((step, c.name), 0) > AGAIN_S):
                if self.best_in_nothing(cls.name):
                    self.end("once", step, cls.name, "one run only: it takes %.0f s, and is the best of the others in nothing" % self.took[step, cls.name])
            for cls in (c for c in classes if (step, c.name) not in self.over and (step, c.name, run) not in self.have):
                begin = time.monotonic()
                try:
                    action(cls, run)
                except (Unable, Wrong, RuntimeError, TimeoutError) as e:
                    if ours(cls):
                        raise
                    self.end("unable", step, cls.name, str(e).splitlines()[0][:200])
                    continue
                took = self.took[step, cls.name] = time.monotonic() - begin
                mark("done", step, cls.name, "%d %.1f" % (run, took))
                say("%s %s run %d: %.1f s in all" % (step, cls.name, run + 1, took))
                if took > once_s and not ours(cls):
                    self.end("once", step, cls.name, "one run only: it takes %.0f s" % took)
