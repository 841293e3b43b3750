#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full table of 1,000,000 routes from one peer until one receiver has all, beside one thread that parses the same octets, interns their attributes
and hashes their prefixes (tests/bench/floor.c).

  route_PER_SET   CPU nanoseconds a route with so many prefixes for each attribute set
The receiver's table equals an oracle's (tests/bench/oracle.c)."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD  # noqa: E402
import duts  # noqa: E402
from scenario import FEED_ASN, Plan, Tables, feeds, load, must_hold, receivers, sample  # noqa: E402

FLOOR = os.path.join(BUILD, "tests", "bench", "floor")
PER_SET = (8, 1)


class Floor:
    name = "floor"


def floor_ns(tables):
    words = [FLOOR, "--count", tables.routes, "--per-set", tables.per_set, "--shuffle", "--asn", FEED_ASN, "--attributes", 1, "--passes", 1]
    return json.loads(subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout)["ns"]


def main():
    plan = Plan(__doc__, 5, beside=())
    with plan.arena() as arena:
        def loading(per_set):
            tables, name = Tables(1, plan.routes, per_set), "route_%d" % per_set

            def one(cls, run):
                if cls is Floor:
                    sample(name, "ns", run, floor_ns(tables), dut="floor")
                    return
                with arena.dut(cls, feeds(1) + receivers(1)) as dut:
                    fan = arena.holders(1)
                    _, _, cpu = load(dut, fan, arena.own_feeds(tables), plan.routes)
                    must_hold(fan, tables.expected())
                    sample(name, "ns", run, cpu / plan.routes * 1e9, dut=cls.name)
            return one
        for per_set in PER_SET:
            plan.alternate("floor%d" % per_set, [duts.Keel, Floor], loading(per_set))


if __name__ == "__main__":
    main()
