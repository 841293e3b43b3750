#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A route server's day: clients with an export policy each (as in bench_policies.py), whose policies all change at once.

  load_N, change_N          CPU seconds of the daemon: until all clients have the table; until all have every route with a new community
  changed_N                 seconds from the change until the last client has its last route
  verdict_N, reverdict_N    CPU nanoseconds for each route of each client, of the load and of the change
  memory_N                  resident after the change
N is clients_prefixes. The tables of the first 100 clients equal an oracle's (tests/bench/oracle.c) before and after the change."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import CLIENT_ASN, CLIENTS, Plan, Tables, change, clients, denied_ases, feeds, load, must_hold, sample  # noqa: E402

CLIENTS_COUNT, STEPS = 700, (40000, 400000)
HELD = 100  # clients whose tables are compared
TAG, LIMIT_S = 10000, 600


def main():
    plan = Plan(__doc__, 3, quick_routes=500, beside=())
    with plan.arena() as arena:
        def day(routes):
            name, number = "%d_%d" % (CLIENTS_COUNT, routes), CLIENTS_COUNT

            def one(cls, run):
                tables, denied = Tables(1, routes), denied_ases(HELD)
                before, after = tables.expected(HELD, denied), tables.expected(HELD, denied, TAG)
                with arena.dut(cls, feeds(1) + clients(number)) as dut:
                    fan = arena.fan(number, CLIENTS, CLIENT_ASN, "--count", HELD, "--tables")
                    _, _, cpu = load(dut, fan, arena.own_feeds(tables), min(before["held"]), limit=LIMIT_S)
                    must_hold(fan, before)
                    sample("load_" + name, "CPU-s", run, cpu, dut=cls.name)
                    sample("verdict_" + name, "ns", run, cpu / number / routes * 1e9, dut=cls.name)
                    _, seconds, cpu = change(dut, fan, feeds(1) + clients(number, TAG), min(after["held"]), limit=LIMIT_S)
                    must_hold(fan, after)
                    sample("change_" + name, "CPU-s", run, cpu, dut=cls.name)
                    sample("changed_" + name, "s", run, seconds, dut=cls.name)
                    sample("reverdict_" + name, "ns", run, cpu / number / routes * 1e9, dut=cls.name)
                    sample("memory_" + name, "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
            return one
        for routes in (plan.routes,) if plan.quick or plan.args.routes else STEPS:
            plan.alternate("clients%d" % routes, plan.classes, day(routes))


if __name__ == "__main__":
    main()
