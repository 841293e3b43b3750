#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A route that changes every 5 ms, at a receiver that meanwhile gets a policy change of a full table, an attribute set for each prefix; and beside 100
peers with a hold time of 3 s; beside a flap of 20,000 routes to 200 peers with an export policy each; beside a table to 100 slow readers with an export policy
each; beside 20 peers that ask for refreshes; and beside nothing.

  kept_p50, kept_p99, kept_max        the import policy changes for kept routes: from the change until the receivers have all
  refresh_p50, refresh_p99, ..        the same, the routes asked for by ROUTE-REFRESH (OpenBGPD keeps all routes in both)
  kept_cpu, refresh_cpu               CPU seconds of the daemon for the change
  hold_p50, hold_p99, hold_max        at a peer that receives only this route, while the policy changes and all 100 peers ask for a refresh, every 5 s
  hold_lost                           lost sessions, of the 100
  flap_p50, flap_p99, flap_max        at a peer that receives only this route, for 3 s, while another peer announces and withdraws the 20,000 routes three times
  slow_p50, slow_p99, slow_max        at a peer that receives only this route, from the begin of a table of 100,000 routes to 100 peers that read 20 KB/s, for 8 s
  refreshes_p50, refreshes_p99, ..    at a peer that receives only this route, for 8 s, while 20 peers ask for a refresh of 100,000 routes 50 times a second each
  rest_p50, rest_p99, rest_max        at a peer, for 8 s in which nothing else happens
  rest_cpu, rest_switches             CPU microseconds of the daemon for each of these changes, and how often its threads slept
The table of a second receiver equals an oracle's (tests/bench/oracle.c) after the change."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import PROBE_ASN, PROBE_ONLY, changing  # noqa: E402
from scenario import CLIENT_ASN, CLIENTS, EVERYTHING, FEED_ASN, FEEDS, PROBE_MS, PROBES, RECEIVERS, Peer, Plan, Tables, addresses  # noqa: E402
from scenario import clients, feeds, idle, load, must_hold, ours, ready, receivers, sample, send, settled, wait_for  # noqa: E402

PEERS, HOLD_S, HOLD_ROUTES, EVERY_S = 100, 3, 100000, 5
GROUPS, FLAPS = 200, 20000
SLOW, SLOW_RATE, ASKING, ASKED = 100, 20000, 20, 50
BESIDE_ROUTES, BESIDE_S = 100000, 8


def probes(exports):
    announcer, listener = addresses(PROBES, 2)
    return [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=exports)]


def switches(dut):
    """How often the threads of the daemon have slept."""
    total = 0
    for folder in ("/proc/%d/task" % pid for pid in dut.pids()):
        for task in os.listdir(folder):
            with open("%s/%s/status" % (folder, task)) as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))
    return total


def main():
    plan = Plan(__doc__, 5, routes=400000, beside=("openbgpd",))
    tables = Tables(1, plan.routes, 1)
    with plan.arena() as arena:
        def told(kind):
            def one(cls, run):
                def peers(n):
                    return feeds(1, imports=changing(n), keep=kind == "kept") + receivers(1) + probes(EVERYTHING)
                with arena.dut(cls, peers(1)) as dut:
                    fan, prober = arena.holders(1, RECEIVERS, 65001, "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN)
                    load(dut, fan, arena.own_feeds(tables), plan.routes)
                    dut.prepare(peers(2))
                    prober.say("probe 0 1 65536 %d" % PROBE_MS)
                    wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                    fan.ask("mark", "done")
                    cpu, begin = dut.cpu_seconds(), time.monotonic()
                    dut.apply()
                    stat = settled(dut, fan, plan.routes, probing=True)
                    prober.say("probe-stop %d %d" % (begin * 1e9, max(stat["last_ns"], begin * 1e9)))
                    probe = prober.wait("done", "probe", timeout=60)
                    must_hold(fan, tables.expected(1, (0,), 2))
                    for k in ("p50", "p99", "max"):
                        sample("%s_%s" % (kind, k), "ms", run, probe[k + "_us"] / 1000, dut=cls.name)
                    sample(kind + "_cpu", "CPU-s", run, stat["cpu"] - cpu, dut=cls.name)
            return one

        def hold(cls, run):
            few = Tables(1, plan.args.routes or HOLD_ROUTES // (50 if plan.quick else 1))

            def peers(n):
                return feeds(1, imports=changing(n), keep=True) + receivers(1) + receivers(PEERS, CLIENTS, CLIENT_ASN) + probes(PROBE_ONLY)
            with arena.dut(cls, peers(1)) as dut:
                fan, prober, crowd = arena.holders(1, RECEIVERS, 65001, "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN), arena.crowd(
                    PEERS, CLIENTS, CLIENT_ASN, hold=HOLD_S)
                wait_for("sessions of all", lambda: crowd.ask("report", "report")["established"] == PEERS, 60)
                load(dut, fan, arena.own_feeds(few), few.routes)
                begin = time.monotonic()
                prober.say("probe 0 1 65536 %d" % PROBE_MS)
                for n in range(2, 4 if plan.quick else 8):
                    dut.prepare(peers(n))
                    dut.apply()
                    crowd.ask("refresh", "done")
                    time.sleep(max(0, begin + (n - 1) * EVERY_S - time.monotonic()))
                prober.say("probe-stop %d %d" % (begin * 1e9, time.monotonic() * 1e9))
                probe, seen = prober.wait("done", "probe", timeout=60), crowd.ask("report", "report")
                idle(dut)
                must_hold(fan, few.expected(1, (0,), n))
                sample("hold_lost", "sessions", run, PEERS - seen["established"], dut=cls.name)
                for k in ("p50", "p99", "max"):
                    sample("hold_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)

        def flap(cls, run):
            peers = feeds(1) + clients(GROUPS) + probes(PROBE_ONLY)
            with arena.dut(cls, peers) as dut:
                prober, flapper = arena.crowd(2, PROBES, PROBE_ASN), arena.crowd(1, FEEDS, FEED_ASN)
                crowd = arena.crowd(GROUPS, CLIENTS, CLIENT_ASN)
                wait_for("sessions of all", lambda: crowd.ask("report", "report")["established"] == GROUPS, 60)
                idle(dut)
                prober.say("probe 0 1 65536 %d" % PROBE_MS)
                wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                begin = time.monotonic()
                for n in range(1, 4):
                    flapper.say("flap 0 %d" % FLAPS)
                    flapper.wait("done", "flap", timeout=60)
                    time.sleep(max(0, begin + n - time.monotonic()))
                prober.say("probe-stop %d %d" % (begin * 1e9, time.monotonic() * 1e9))
                probe = prober.wait("done", "probe", timeout=60)
                for k in ("p50", "p99", "max"):
                    sample("flap_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)

        def beside(name, peers, work):
            def one(cls, run):
                few = Tables(1, plan.args.routes or BESIDE_ROUTES // (50 if plan.quick else 1))
                with arena.dut(cls, feeds(1) + receivers(1) + clients(peers) + probes(PROBE_ONLY)) as dut:
                    fan, prober = arena.holders(1, RECEIVERS, 65001, "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN)
                    crowd, said = arena.crowd(peers, CLIENTS, CLIENT_ASN), arena.own_feeds(few)
                    wait_for("sessions of all", lambda: crowd.ask("report", "report")["established"] == peers, 60)
                    ready(dut, fan, said)
                    if name != "slow":
                        send(dut, fan, said, few.routes)
                    prober.say("probe 0 1 65536 %d" % PROBE_MS)
                    wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                    begin = time.monotonic()
                    work(crowd, said)
                    time.sleep(max(0, begin + BESIDE_S - time.monotonic()))
                    prober.say("probe-stop %d %d" % (begin * 1e9, time.monotonic() * 1e9))
                    probe = prober.wait("done", "probe", timeout=60)
                    must_hold(fan, few.expected())
                    for k in ("p50", "p99", "max"):
                        sample("%s_%s" % (name, k), "ms", run, probe[k + "_us"] / 1000, dut=cls.name)
            return one

        def rest(cls, run):
            with arena.dut(cls, probes(EVERYTHING)) as dut:
                prober = arena.crowd(2, PROBES, PROBE_ASN)
                prober.say("probe 0 1 65536 %d" % PROBE_MS)
                wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                begin, cpu, slept = time.monotonic(), dut.cpu_seconds(), switches(dut)
                time.sleep(BESIDE_S)
                changes = (time.monotonic() - begin) * 1000 / PROBE_MS
                sample("rest_cpu", "us", run, (dut.cpu_seconds() - cpu) * 1e6 / changes, dut=cls.name)
                sample("rest_switches", "switches", run, (switches(dut) - slept) / changes, dut=cls.name)
                prober.say("probe-stop %d %d" % (begin * 1e9, time.monotonic() * 1e9))
                probe = prober.wait("done", "probe", timeout=60)
                for k in ("p50", "p99", "max"):
                    sample("rest_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)

        def slowly(crowd, said):
            crowd.say("slow %d" % SLOW_RATE)
            for f in said:
                f.say("go")

        def asking(crowd, said):
            crowd.say("refresh %d %d" % (ASKING * ASKED, BESIDE_S))

        plan.alternate("rest", plan.classes, rest)
        plan.alternate("kept", plan.classes, told("kept"))
        plan.alternate("refresh", plan.classes, told("refresh"))
        plan.alternate("hold", [c for c in plan.classes if ours(c)], hold)
        plan.alternate("flap", [c for c in plan.classes if ours(c)], flap)
        plan.alternate("slow", [c for c in plan.classes if ours(c)], beside("slow", SLOW, slowly))
        plan.alternate("refreshes", [c for c in plan.classes if ours(c)], beside("refreshes", ASKING, asking))


if __name__ == "__main__":
    main()
