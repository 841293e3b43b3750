#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full table from one peer to receivers with an export policy each: receiver i gets no path through one AS of its own, and its routes have a
community of its own. 20 receivers (200,000 prefixes), 100 (100,000), and as many sessions as Keel promises with 1,000 prefixes. Then the same prefixes from
several peers, whose attributes and order are their own.

  cpu_N, memory_N   CPU seconds of the daemon until all N receivers have their table; resident
  path_FxN, memory_FxN   F peers send the table: CPU microseconds for each received path; resident
  lost_N            lost sessions
  rest_N            CPU seconds a second of the daemon at rest afterwards
The tables of all receivers equal an oracle's (tests/bench/oracle.c)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import CLIENT_ASN, CLIENTS, IDLE, Plan, Tables, clients, denied_ases, feeds, load, must_hold, ours, sample  # noqa: E402

STEPS = ((20, 200000), (100, 100000), (1101, 1000), (4094, 1000))
QUICK = ((20, 5000), (100, 2000), (1101, 100))
FEEDS = ((4, 1, 200000), (4, 10, 40000), (10, 100, 20000), (60, 20, 10000))  # feeds, receivers, prefixes
QUICK_FEEDS = ((4, 1, 2000), (10, 20, 1000))

REST_S = 2
BESIDE_MAX = 100  # BIRD needs minutes for 1,101 sessions


def main():
    plan = Plan(__doc__, 5, beside=("bird",))
    with plan.arena() as arena:
        def fanned(number, routes):
            def one(cls, run):
                tables = Tables(1, routes)
                expected = tables.expected(number, denied_ases(number))
                with arena.dut(cls, feeds(1) + clients(number)) as dut:
                    fan = arena.holders(number, CLIENTS, CLIENT_ASN)
                    stat, _, cpu = load(dut, fan, arena.own_feeds(tables), min(expected["held"]), may_lose=True, busy=2 if number > BESIDE_MAX else IDLE)
                    sample("cpu_%d" % number, "CPU-s", run, cpu, dut=cls.name)
                    sample("memory_%d" % number, "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
                    sample("lost_%d" % number, "sessions", run, number - stat["established"], dut=cls.name)
                    cpu, begin = dut.cpu_seconds(), time.monotonic()
                    time.sleep(REST_S)
                    sample("rest_%d" % number, "CPU-s/s", run, (dut.cpu_seconds() - cpu) / (time.monotonic() - begin), dut=cls.name)
                    if stat["established"] == number:
                        must_hold(fan, expected)
            return one

        def fed(number, receivers, routes):
            def one(cls, run):
                tables, name = Tables(number, routes), "%dx%d" % (number, receivers)
                expected = tables.expected(receivers, denied_ases(receivers))
                with arena.dut(cls, feeds(number) + clients(receivers)) as dut:
                    fan, said = arena.holders(receivers, CLIENTS, CLIENT_ASN), arena.own_feeds(tables)
                    _, _, cpu = load(dut, fan, said, min(expected["held"]))
                    must_hold(fan, expected)
                    sample("path_" + name, "CPU-us/path", run, cpu / number / routes * 1e6, dut=cls.name)
                    sample("memory_" + name, "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
            return one
        for number, routes in QUICK if plan.quick else STEPS:
            plan.alternate("clients%d" % number, [c for c in plan.classes if ours(c) or number <= BESIDE_MAX], fanned(number, routes))
        for number, receivers, routes in QUICK_FEEDS if plan.quick else FEEDS:
            plan.alternate("feeds%dx%d" % (number, receivers), plan.classes, fed(number, receivers, routes))


if __name__ == "__main__":
    main()
