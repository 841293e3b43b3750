#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fan-out of a full table from one peer to 20 receivers (all daemons) and to 100 receivers (Keel, and the daemons near the best with 20: daemons
with and without update groups are nearly equal with 20 receivers, but not with 100).

  live_N, live_N_cpu     receivers connect before the table: from the feed's first octet until the last receiver has the last UPDATE
  late_N, late_N_cpu     N new receivers connect when the daemon is at rest
  floor                  the bytes sent by Keel to one receiver, written in a loop of writev to the same sinks: the kernel's share

A single receiver reads and counts its input, the kernel discards the input of the others."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import Events  # noqa: E402
from scenario import FAN, LATE, RECEIVERS, RT, Plan, Unable, feeds, load, receivers, sample, say, settled  # noqa: E402
import duts  # noqa: E402

FEW, MANY = 20, 100
ONCE_S = 45
NEAR = 2  # times the CPU of the best
FLOOR_PORT = 1790


class Floor:
    """Stands in for a daemon: gives the figures of the writev loop a name."""
    name = "floor"


def whole(stat, n, dut):
    """Checks that all receivers have as many octets as the counting receiver: attributes and packing may differ slightly."""
    if stat["octets_min"] < 0.9 * stat["octets_max"]:
        raise Unable("%s: one of %d receivers has %d octets, another %d" % (dut.name, n, stat["octets_min"], stat["octets_max"]))


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        saved = os.path.join(arena.lab.dir, "sent-to-one")

        def fanned(n):
            def one(cls, run):
                with arena.dut(cls, feeds(1) + receivers(n) + receivers(n, LATE, 65201)) as dut:
                    stat, seconds, cpu = load(dut, arena.fan(n), [arena.feed(0, plan.routes)], plan.routes)
                    whole(stat, n, dut)
                    sample("live_%d" % n, "s", run, seconds, dut=cls.name)
                    sample("live_%d_cpu" % n, "CPU-s", run, cpu, dut=cls.name)
                    sample("live_%d_octets" % n, "MB-sent", run, stat["octets"] / 1e6, dut=cls.name)
                    late = arena.fan(n, LATE, 65201, "--late")
                    cpu = dut.cpu_seconds()
                    begin = time.monotonic()
                    late.say("up")
                    stat = settled(dut, late, plan.routes)
                    whole(stat, n, dut)
                    sample("late_%d" % n, "s", run, stat["last_ns"] / 1e9 - begin, dut=cls.name)
                    sample("late_%d_cpu" % n, "CPU-s", run, dut.cpu_seconds() - cpu, dut=cls.name)
            return one

        def save():
            with arena.dut(duts.Keel, feeds(1) + receivers(1)) as dut:
                load(dut, arena.fan(1, RECEIVERS, 65001, "--save", saved), [arena.feed(0, plan.routes)], plan.routes)

        def floor(n):
            def one(cls, run):
                if not os.path.exists(saved):
                    save()
                writer = Events(arena.lab.spawn("floor", arena.host, [FAN, "--serve", saved, "--connect", RT, "--port", str(FLOOR_PORT), "--peers", str(n)], lines=True))
                sinks = Events(arena.lab.spawn("floor-sinks", arena.host, [FAN, "--connect", RT, "--port", str(FLOOR_PORT), "--source", RECEIVERS, "--peers", str(n), "--raw"],
                                               lines=True))
                sinks.wait("established", timeout=60)
                writer.wait("ready")
                seen = writer.ask("go", "done")
                for way in ("live", "late"):
                    sample("%s_%d" % (way, n), "s", run, seen["wall_s"], dut=cls.name)
                    sample("%s_%d_cpu" % (way, n), "CPU-s", run, seen["cpu_s"], dut=cls.name)
                for p in (sinks, writer):
                    p.process.stop()
            return one

        plan.alternate(str(FEW), plan.classes, fanned(FEW), once_s=ONCE_S)
        plan.alternate("floor%d" % FEW, [Floor], floor(FEW))
        best = set.union(*(plan.near_best("%s_%d_cpu" % (way, FEW), NEAR) for way in ("live", "late")))
        say("with %d receivers the best of the others, or near it: %s" % (FEW, ", ".join(sorted(best))))
        plan.alternate(str(MANY), [c for c in plan.classes if c.name in best | {"keel"}], fanned(MANY), once_s=ONCE_S)
        plan.alternate("floor%d" % MANY, [Floor], floor(MANY))


if __name__ == "__main__":
    main()
