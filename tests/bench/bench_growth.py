#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keel's cost as the table grows: a load of 10,000, 100,000, 1,000,000 and 4,000,000 paths (four peers of 1,000,000), with one receiver, and a policy
change of all paths, with kept routes.

  path_SIZE     CPU microseconds per path, of `load` and of `reset`
  times_SIZE    the same, relative to 100,000 paths of the same run

Then loads for the model of docs/scaling.md (growth_model.py): one dimension grows, and three loads to hold the model against; the tables of the receivers are an oracle's (tests/bench/oracle.c).

  cpu_P_F_G     CPU microseconds of the load per path: P prefixes from each of F feeds to G receivers, all with a policy of their own (G 1: none)
  bytes_P_F_G   resident bytes per path, above the daemon with its sessions"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import changing  # noqa: E402
from scenario import CLIENT_ASN, CLIENTS, Plan, Tables, change, clients, denied_ases, feeds, load, must_hold, ready, receivers, sample, send  # noqa: E402
import duts  # noqa: E402

SIZES = [("100k", 1, 100000), ("10k", 1, 10000), ("1M", 1, 1000000), ("4M", 4, 1000000)]
QUICK = 20  # times smaller
# prefixes, feeds, groups
POINTS = [(10000, 1, 1), (100000, 1, 1), (1000000, 1, 1), (4000000, 1, 1), (40000, 4, 1), (40000, 10, 1), (40000, 30, 1), (40000, 100, 1), (40000, 1, 10),
          (40000, 1, 100), (40000, 1, 1000), (40000, 4, 10), (40000, 10, 10), (40000, 30, 10), (40000, 4, 100), (400000, 4, 10), (40000, 1, 300), (200000, 4, 10), (20000, 10, 100)]
LIMIT_S = 300
# A load of 10 ms of CPU is measured with an error of 30 %: short loads are repeated within a run.
ENOUGH_S, MOST_LOADS = 0.25, 5


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        def measured(number, routes):
            """CPU seconds of a load and of a policy change."""
            def peers(n):
                return feeds(number, imports=changing(n), keep=True) + receivers(1)
            with arena.dut(duts.Keel, peers(1)) as dut:
                fan = arena.fan(1)
                loaded = load(dut, fan, [arena.feed(i, routes) for i in range(number)], routes)
                return [cpu for _, _, cpu in (loaded, change(dut, fan, peers(2), routes))]

        def one(cls, run):
            base = None
            for name, number, routes in SIZES:
                paths = number * routes // (QUICK if plan.quick else 1)
                figures = [seconds / paths * 1e6 for seconds in measured(number, paths // number)]
                base = base or figures
                for kind, value, of in zip(("load", "reset"), figures, base):
                    sample("path_" + name, "CPU-us/path", run, value, dut=kind)
                    sample("times_" + name, "times", run, value / of, dut=kind)
        plan.alternate("growth", [duts.Keel], one)

        def once(cls, routes, number, groups):
            """CPU seconds and resident bytes of one load."""
            tables = Tables(number, routes)
            denied = denied_ases(groups) if groups > 1 else ()
            expected = tables.expected(groups, denied)
            with arena.dut(cls, feeds(number) + (clients(groups) if groups > 1 else receivers(1, CLIENTS, CLIENT_ASN))) as dut:
                fan, said = arena.holders(groups, CLIENTS, CLIENT_ASN), arena.own_feeds(tables)
                ready(dut, fan, said)
                empty = dut.resident_bytes()
                _, _, cpu = send(dut, fan, said, min(expected["held"]), limit=LIMIT_S)
                must_hold(fan, expected)
                return cpu, dut.resident_bytes() - empty

        def point(cls, run, routes, number, groups):
            """The mean of as many loads as take ENOUGH_S, at most MOST_LOADS."""
            name, loads = "%d_%d_%d" % (routes, number, groups), []
            while not loads or not plan.quick and len(loads) < MOST_LOADS and sum(cpu for cpu, _ in loads) < ENOUGH_S:
                loads.append(once(cls, routes, number, groups))
            cpu, held = (sum(figure) / len(loads) for figure in zip(*loads))
            sample("cpu_" + name, "CPU-us/path", run, cpu / number / routes * 1e6, dut="keel")
            sample("bytes_" + name, "B", run, held / number / routes, dut="keel")

        def points(cls, run):
            """All loads in each run: a machine whose speed changes meanwhile changes the cost of all loads alike."""
            for routes, number, groups in POINTS:
                point(cls, run, routes // (QUICK if plan.quick else 1), number, groups)
        plan.alternate("points", [duts.Keel], points)


if __name__ == "__main__":
    main()
