#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""An attribute set for each prefix, from one peer to one receiver: IPv4, IPv6, AS paths of 30 hops, 32 communities; and 8 prefixes a set (`shared`).

  cpu_KIND, memory_KIND   CPU seconds of the daemon until the receiver has the table; resident
  left_KIND               resident above the daemon before the load, when the peer has withdrawn all (8 prefixes a set, and IPv4)
The receiver's table equals an oracle's (tests/bench/oracle.c)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import RECEIVERS, V4, V6, Plan, Tables, Wrong, feeds, must_hold, ready, receivers, sample, send, settled  # noqa: E402

KINDS = {"shared": Tables(1, 1000000), "v4": Tables(1, 1000000, 1), "v6": Tables(1, 200000, 1, ipv6=True), "hops": Tables(1, 200000, 1, hops=30),
         "communities": Tables(1, 200000, 1, communities=32)}
REST_S = 15  # until allocators have returned freed memory
LEFT = ("shared", "v4")


def main():
    plan = Plan(__doc__, 5, beside=("bird",))
    with plan.arena() as arena:
        def loading(kind, tables):
            family = (V6,) if tables.ipv6 else (V4,)

            def one(cls, run):
                with arena.dut(cls, feeds(1, families=family) + receivers(1, families=family)) as dut:
                    fan, said = arena.holders(1, RECEIVERS, 65001, *["--ipv6"] * tables.ipv6), arena.own_feeds(tables)
                    ready(dut, fan, said)
                    empty = dut.resident_bytes()
                    _, _, cpu = send(dut, fan, said, tables.routes)
                    must_hold(fan, tables.expected())
                    sample("cpu_" + kind, "CPU-s", run, cpu, dut=cls.name)
                    sample("memory_" + kind, "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
                    said[0].say("withdraw 1 0")
                    said[0].wait("done", "withdraw")
                    settled(dut, fan, 0)
                    held = fan.ask("tables", "tables")["held"]
                    if held != [0]:
                        raise Wrong("the receiver holds %d prefixes after their withdrawal" % held[0])
                    if kind in LEFT:
                        time.sleep(0 if plan.quick else REST_S)
                        sample("left_" + kind, "MB", run, (dut.resident_bytes() - empty) / 1e6, dut=cls.name)
            return one
        for kind, tables in KINDS.items():
            tables = tables._replace(routes=plan.args.routes or tables.routes // (100 if plan.quick else 1))
            plan.alternate(kind, plan.classes, loading(kind, tables))


if __name__ == "__main__":
    main()
