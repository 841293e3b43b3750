#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keel's CPU per path as the table grows: a load of 10,000, 100,000, 1,000,000 and 4,000,000 paths (four peers of 1,000,000), with one receiver,
and a policy change of all paths, with kept routes.

  path_SIZE     CPU microseconds per path, of `load` and of `reset`
  times_SIZE    the same, relative to 100,000 paths of the same run"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import changing  # noqa: E402
from scenario import Plan, change, feeds, load, receivers, sample  # noqa: E402
import duts  # noqa: E402

SIZES = [("100k", 1, 100000), ("10k", 1, 10000), ("1M", 1, 1000000), ("4M", 4, 1000000)]
QUICK = 20  # times smaller


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


if __name__ == "__main__":
    main()
