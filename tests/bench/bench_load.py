#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full table from one peer, and the same prefixes with different attributes from four peers at once, until a receiving peer has the last route.

  one, four              seconds from the first octet of a feed to the receiver's last UPDATE
  one_cpu, four_cpu      CPU seconds of the daemon, all its processes (FRR: bgpd and zebra, without routes for zebra)
  one_memory, ..         resident, of all its processes, afterwards
Without a data plane. The daemon, the feeds and the receiver share the machine's processors."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Plan, feeds, load, receivers, sample  # noqa: E402


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        def loading(name, number):
            def one(cls, run):
                with arena.dut(cls, feeds(number) + receivers(1)) as dut:
                    _, seconds, cpu = load(dut, arena.fan(1), [arena.feed(i, plan.routes) for i in range(number)], plan.routes)
                    sample(name, "s", run, seconds, dut=cls.name)
                    sample(name + "_cpu", "CPU-s", run, cpu, dut=cls.name)
                    sample(name + "_memory", "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
            return one
        plan.alternate("one", plan.classes, loading("one", 1))
        plan.alternate("four", plan.classes, loading("four", 4))


if __name__ == "__main__":
    main()
