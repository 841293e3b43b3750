#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The same prefixes from 4, 20, 30 and 60 peers at once, attributes and order of each peer its own; then updates of single prefixes from all of them.

  load_N, memory_N   CPU seconds of the daemon until one receiver has the best paths of N peers; resident
  path_N             CPU microseconds for each received path
  path_N_to_4        the same, relative to 4 peers of the same run
  single_N           CPU microseconds for each update: a prefix withdrawn or changed, and restored some thousand updates later
The receiver's table equals an oracle's (tests/bench/oracle.c) after the load and after the updates."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Plan, Tables, feeds, load, must_hold, receivers, sample, single_updates  # noqa: E402

FEEDS, UPDATES = (4, 20, 30, 60), 60000
LIMIT_S = 300


def main():
    plan, path = Plan(__doc__, 5, routes=100000, quick_routes=2000, beside=("bird",)), {}
    updates = UPDATES // (10 if plan.quick else 1)
    with plan.arena() as arena:
        def loading(number):
            def one(cls, run):
                tables = Tables(number, plan.routes)
                with arena.dut(cls, feeds(number) + receivers(1)) as dut:
                    fan, said = arena.holders(1), arena.own_feeds(tables)
                    _, _, cpu = load(dut, fan, said, plan.routes, limit=LIMIT_S)
                    must_hold(fan, tables.expected())
                    path[cls, run, number] = cpu / number / plan.routes * 1e6
                    sample("load_%d" % number, "CPU-s", run, cpu, dut=cls.name)
                    sample("memory_%d" % number, "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
                    sample("path_%d" % number, "CPU-us/path", run, path[cls, run, number], dut=cls.name)
                    if (cls, run, FEEDS[0]) in path:
                        sample("path_%d_to_%d" % (number, FEEDS[0]), "times", run, path[cls, run, number] / path[cls, run, FEEDS[0]], dut=cls.name)
                    cpu = single_updates(dut, fan, said, updates)
                    must_hold(fan, tables.expected())
                    sample("single_%d" % number, "us", run, cpu / updates * 1e6, dut=cls.name)
            return one
        for number in FEEDS:
            plan.alternate("feeds%d" % number, plan.classes, loading(number))


if __name__ == "__main__":
    main()
