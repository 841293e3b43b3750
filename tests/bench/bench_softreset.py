#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Soft reset of 1,000,000 routes, Keel beside BIRD, FRR, GoBGP and OpenBGPD: a policy changes, and a receiving peer waits for the last of what changes for it.

  replay   import policy, routes kept by the daemon
  refresh  import policy, nothing kept: ROUTE-REFRESH, and the feed says all again
  export   export policy towards the receiver

One external feed, one internal receiver (it sees LOCAL_PREF), on a link of two namespaces; each daemon alone, one after the other, all on the same processors.
The table and the policies are those of ../shared/data where that is there, and made here in the same shape where it is not. What a daemon can't do or say is left out
and told on standard error. For Keel, all changes of changes.json must give exactly the counts that it names."""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, FEED, KEELD, ROOT, TICKS, V4, Events, Lab, sample, say, wait_for  # noqa: E402
import softreset_policies as policies  # noqa: E402
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from daemons import Bird, Frr, GoBgp, OpenBgpd  # noqa: E402

SINK = os.path.join(BUILD, "tests", "bench", "sink")
SHARED = os.environ.get("KEEL_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
# 64512 is the origin of two prefixes of the real table, which so would be AS loops
US, RT, FEED_ADDR, SINK_ADDR = 64999, "198.18.0.1", "198.18.0.2", "198.18.0.3"
QUIET_S, LIMIT_S = 3, 900
SLOW_S = 15  # what takes longer is done once: noise is not what it suffers from
KEEP_ALL = {"prefix_lists": [], "as_path_lists": [], "community_lists": [], "route_policies": [{"name": "everything", "nodes": [{"seq": 10, "action": "permit", "match": {}}]}]}
# a tenth of all origins end so
TENTH = dict(KEEP_ALL, as_path_lists=[{"name": "zero", "entries": [{"action": "permit", "regex": "0$"}]}], route_policies=[{"name": "tenth", "nodes": [
    {"seq": 10, "action": "deny", "match": {"as_path_list": "zero"}}, {"seq": 20, "action": "permit", "match": {}}]}])


class Unable(Exception):
    """What a daemon has no words for."""


# ---- the devices under test: start(kind, policy) with the policy where `kind` wants it, apply(policy), stop() ----

class Dut:
    host, peers = "rt", "peers"

    def __init__(self, lab):
        self.lab, self.process = lab, None

    def tree(self):
        """The pids of the daemon."""
        out, left = [], [self.process.popen.pid]
        while left:
            pid = left.pop()
            out.append(pid)
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                    left += [int(x) for x in f.read().split()]
            except FileNotFoundError:
                pass
        return out

    def cpu_seconds(self):
        total = 0
        for pid in self.tree():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_bytes(self):
        total = 0
        for pid in self.tree():
            with open("/proc/%d/statm" % pid) as f:
                total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def stop(self):
        self.process.stop(60)

    def policies(self, kind, policy):
        """(import, export)"""
        return (policy, KEEP_ALL) if kind != "export" else (KEEP_ALL, policy)


class Keel(Dut):
    name = "keel"
    lacks = set()

    @classmethod
    def version(cls):
        return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    def sections(self, kind, policy):
        """Both policies of a family and what they need, as parts of the document."""
        import_policy, export_policy = (p["route_policies"][0]["name"] for p in self.policies(kind, policy))
        document = {k: policy[k] for k in ("prefix_lists", "as_path_lists", "community_lists", "route_policies")}
        both = [import_policy, "accept-all"] if kind != "export" else ["accept-all", export_policy]
        document["bgp"] = {"peers": [
            {"address": FEED_ADDR, "asn": self.feed_asn, "passive": True, "families": {V4: {"import_policy": both[0], "export_policy": "deny-all", "keep_all_routes": kind == "replay"}}},
            {"address": SINK_ADDR, "asn": US, "passive": True, "families": {V4: {"import_policy": "deny-all", "export_policy": both[1]}}}]}
        return document

    def start(self, kind, policy, feed_asn):
        self.kind, self.feed_asn = kind, feed_asn
        config = dict({"router": {"asn": US, "router_id": RT}}, **self.sections(kind, policy))
        self.process, self.rpc = self.lab.keeld("rt", config, KEELD, args=["--no-dataplane"])

    def prepare(self, policy):
        """All that is not the change itself. What is still running from before is awaited: a commit does not wait."""
        self.rpc.call("config.edit", merge=self.sections(self.kind, policy))

    def apply(self, policy):
        self.effects = self.rpc.call("config.commit")["effects"]

    def stop(self):
        self.rpc.close()
        super().stop()


class Foreign(Dut):
    """Adapts a daemon of tests/interop/daemons.py: its way of being started, with a configuration of our own."""
    daemon = None

    @classmethod
    def version(cls):
        return cls.daemon.version()

    def start(self, kind, policy, feed_asn):
        self.kind, self.feed_asn, self.lacks = kind, feed_asn, set()
        outer = self

        class Configured(self.daemon):
            def config(self):
                return outer.config(policy)

            def own_after_start(self):
                pass
        self.d = Configured(self.lab, self.host)
        self.d.run(False)
        self.process = self.d.process

    def say(self, translation):
        if translation is None:
            raise Unable("this policy")
        self.lacks |= translation.lacks
        return translation.text

    def prepare(self, policy):
        self.d.file(self.file, self.config(policy))

    def stop(self):
        self.d.stop()


class BirdDut(Foreign):
    name, daemon, file = "bird", Bird, "bird.conf"

    def config(self, policy):
        import_policy, export_policy = self.policies(self.kind, policy)
        return """log stderr all;
router id %s;
protocol device { }
%s%s
protocol bgp feed { local %s as %d; neighbor %s as %d; passive; ipv4 { %s import filter heard; export none; }; }
protocol bgp sink { local %s as %d; neighbor %s as %d; passive; ipv4 { import none; export filter told; }; }
""" % (RT, self.say(policies.bird("heard", import_policy)), self.say(policies.bird("told", export_policy)), RT, US, FEED_ADDR, self.feed_asn,
            "import table on;" if self.kind == "replay" else "", RT, US, SINK_ADDR, US)

    def apply(self, policy):
        self.d.birdc("configure")


class FrrDut(Foreign):
    """All route-maps are there beforehand; the change is the name in the neighbour's line. It stays up from one kind to the next: the first figures of memory are those of
    a fresh one. FRR 8.4 takes time with the square of a prefix list: 5,000 lines 3 minutes of CPU in an empty bgpd, more than 8 in one with a full table."""
    LINES_MAX = 1000
    name, daemon = "frr", Frr
    host, peers = "rt-frr", "peers-frr"
    alive = None

    def start(self, kind, policy, feed_asn):
        if FrrDut.alive is None:
            super().start(kind, policy, feed_asn)
            self.d.said, self.d.serial = set(), 0
            FrrDut.alive = self.d
        self.d, self.kind, self.feed_asn, self.lacks = FrrDut.alive, kind, feed_asn, set()
        self.process = self.d.process
        self.prepare(policy)
        keeps = "%sneighbor %s soft-reconfiguration inbound" % ("" if kind == "replay" else "no ", FEED_ADDR)
        self.family("no neighbor %s route-map in" % FEED_ADDR, "no neighbor %s route-map out" % SINK_ADDR, keeps)
        self.apply(policy)

    def config(self, policy):
        return """log stdout
bgp route-map delay-timer 0
router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor %s remote-as %d
 neighbor %s passive
 neighbor %s remote-as %d
 neighbor %s passive
 address-family ipv4 unicast
 neighbor %s activate
 neighbor %s activate
 exit-address-family
""" % (US, RT, FEED_ADDR, self.feed_asn, FEED_ADDR, SINK_ADDR, US, SINK_ADDR, FEED_ADDR, SINK_ADDR)

    def family(self, *lines):
        for line in lines:
            self.d.vty("configure terminal", "router bgp %d" % US, "address-family ipv4 unicast", line, "end", ok=not line.startswith("no "))

    def prepare(self, policy):
        lines, lists = [], policies.frr_lists(policy)
        if max((len(said) for said in lists.values()), default=0) > self.LINES_MAX:
            raise Unable("a prefix list of more than %d lines, within minutes" % self.LINES_MAX)
        for name, said in lists.items():
            if name not in self.d.said:
                self.d.said.add(name)
                lines += said
        self.d.serial += 1
        self.d.vty("configure terminal", *lines, *policies.frr_route_map("p%d" % self.d.serial, policy), "end")

    def apply(self, policy):
        self.family("neighbor %s route-map p%d %s" % ((SINK_ADDR, self.d.serial, "out") if self.kind == "export" else (FEED_ADDR, self.d.serial, "in")))

    def stop(self):
        """Its sessions end with their peers; the daemon goes in end()."""

    @classmethod
    def end(cls):
        if cls.alive:
            cls.alive.stop()
            cls.alive.zebra.stop()
            cls.alive = None


class GoBgpDut(Foreign):
    name, daemon, file = "gobgp", GoBgp, "gobgp.toml"

    def config(self, policy):
        if self.kind == "refresh":
            raise Unable("asking for a refresh when a policy changes: it keeps all routes")
        name = policy["route_policies"][0]["name"]
        which = ("everything", name) if self.kind == "export" else (name, "everything")
        out = ["[global.config]", "as = %d" % US, 'router-id = "%s"' % RT, "[global.apply-policy.config]", 'import-policy-list = ["%s"]' % which[0], 'export-policy-list = ["%s"]' % which[1],
               'default-import-policy = "reject-route"', 'default-export-policy = "reject-route"']
        for addr, asn in ((FEED_ADDR, self.feed_asn), (SINK_ADDR, US)):
            out += ["[[neighbors]]", "[neighbors.config]", 'neighbor-address = "%s"' % addr, "peer-as = %d" % asn, "[neighbors.transport.config]", "passive-mode = true",
                    "[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", 'afi-safi-name = "ipv4-unicast"']
        return "\n".join(out) + "\n" + self.say(policies.gobgp("everything", KEEP_ALL)) + (self.say(policies.gobgp(name, policy)) if policy is not KEEP_ALL else "")

    def apply(self, policy):
        os.kill(self.process.popen.pid, signal.SIGHUP)


class OpenBgpdDut(Foreign):
    name, daemon, file = "openbgpd", OpenBgpd, "bgpd.conf"

    def config(self, policy):
        if self.kind == "refresh":
            raise Unable("asking for a refresh when a policy changes: it keeps all routes")
        import_policy, export_policy = self.policies(self.kind, policy)
        return """AS %d
router-id %s
socket "%s"
fib-update no
nexthop qualify via default
listen on %s
neighbor %s {
	remote-as %d
	passive
	announce IPv4 unicast
	enforce neighbor-as no
	reject as-set no
	export none
}
neighbor %s {
	remote-as %d
	passive
	announce IPv4 unicast
}
%s%s""" % (US, RT, os.path.join(self.lab.dir, self.host, "bgpd.sock"), RT, FEED_ADDR, self.feed_asn, SINK_ADDR, US,
           self.say(policies.openbgpd("from " + FEED_ADDR, import_policy)), self.say(policies.openbgpd("to " + SINK_ADDR, export_policy)))

    def prepare(self, policy):
        super().prepare(policy)
        os.chmod(os.path.join(self.d.folder, self.file), 0o600)

    def apply(self, policy):
        self.d.bgpctl("reload")


DUTS = [Keel, BirdDut, OpenBgpdDut, FrrDut, GoBgpDut]


# ---- a run ----

class Run:
    def __init__(self, lab, dut, table, kind, policy):
        self.lab, self.dut, self.kind = lab, dut, kind
        dut.start(kind, policy, table.asn)
        common = ["--connect", RT]
        self.feed = Events(lab.spawn("feed-" + dut.name, dut.peers, [FEED, *common, "--source", FEED_ADDR, "--next-hop", FEED_ADDR, "--asn", str(table.asn), "--peer-asn", str(US), *table.feed], lines=True))
        self.sink = Events(lab.spawn("sink-" + dut.name, dut.peers, [SINK, *common, "--source", SINK_ADDR, "--asn", str(US)], lines=True))
        begin = time.monotonic()
        self.sink.wait("established", timeout=120)
        self.feed.wait("done", "table")
        self.quiet(begin)

    def quiet(self, since):
        """Nothing has come for QUIET_S, and the daemon has nothing to do: seconds from `since` to the last difference, 0 when there was none."""
        change, cpu, still = None, self.dut.cpu_seconds(), time.monotonic()

        def settled():
            nonlocal change, cpu, still
            self.dut.process.must_run()
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
        self.dut.prepare(policy)
        self.sink.ask("mark", "done")
        cpu, begin = self.dut.cpu_seconds(), time.monotonic()
        self.dut.apply(policy)
        seconds = self.quiet(begin)
        return seconds, self.dut.cpu_seconds() - cpu, self.sink.ask("report", "report")

    def close(self):
        for p in (self.sink, self.feed):
            p.process.stop()
        self.dut.stop()


class Table:
    """What the feed says, and the policies that fit it."""

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
    if not report["established"]:
        raise RuntimeError("%s dropped the receiver's session" % cls.name)
    if cls is Keel and change.expected and kind != "export" and counts != change.expected:
        raise RuntimeError("expected %s" % change.expected)
    sample("%s_%s" % (kind, change.key), "s", i, seconds, dut=cls.name)
    sample("%s_%s_cpu" % (kind, change.key), "CPU-s", i, cpu, dut=cls.name)
    sample("%s_%s_routes" % (kind, change.key), "routes", i, sum(counts.values()), dut=cls.name)
    return seconds


def compared(lab, cls, table, kind, runs):
    """The changes that all are asked for, each from before to after."""
    dut = cls(lab)
    try:
        run = Run(lab, dut, table, kind, KEEP_ALL)
    except Unable as e:
        say("%s %s: can't: %s" % (cls.name, kind, e))
        return
    try:
        sample("%s_memory" % kind, "MB", 0, dut.resident_bytes() / 1e6, dut=cls.name)
        for c in (c for c in table.changes if c.key):
            try:
                for i in range(runs):
                    if measured(run, cls, kind, c, i) > SLOW_S:
                        break
            except Unable as e:
                say("%s %s %s: can't: %s" % (cls.name, kind, c.key, e))
    finally:
        run.close()


def counted(lab, table):
    """All changes, whatever they do, with kept routes: exactly the counts of changes.json."""
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
    """A tenth rejected, kept and not kept."""
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
        for host, peers in sorted({(d.host, d.peers) for d in DUTS}):
            lab.host(host)
            lab.host(peers)
            lab.link(host, "east", [RT + "/24"], peers, "east", [FEED_ADDR + "/24", SINK_ADDR + "/24"])
        table = Table(args, lab.dir)
        say("%s; %s" % (table.what, ", ".join("%s %s" % (d.name, d.version()) for d in DUTS)))
        undo = [d.daemon.before() for d in DUTS if hasattr(d, "daemon")]
        try:
            for kind in (k for k in ("replay", "refresh", "export") if k in kinds):
                for cls in (d for d in DUTS if d.name in args.dut.split(",")):
                    compared(lab, cls, table, kind, runs)
            if "counts" in kinds and "keel" in args.dut:
                counted(lab, table)
            if "memory" in kinds and "keel" in args.dut:
                memory(lab, table, runs)
        finally:
            FrrDut.end()
            for u in undo:
                u()


if __name__ == "__main__":
    main()
