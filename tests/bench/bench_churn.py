#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Updates of single prefixes from four peers with the same prefixes: withdrawn or changed, and restored some thousand updates later.

  single                     CPU microseconds of the daemon for each update, as fast as the daemon reads, with one receiver and 1,000,000 prefixes
  paced_cpu                  CPU seconds of the daemon for 10 s of 5,000 updates a second, with 20 receivers and 100,000 prefixes
  paced_p50, paced_p99       a route changed by another peer every 5 ms, at one of the 20 receivers meanwhile
The receivers' tables equal an oracle's (tests/bench/oracle.c)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import PROBE_ASN  # noqa: E402
from scenario import EVERYTHING, PROBE_MS, PROBES, RECEIVERS, Peer, Plan, Tables, addresses  # noqa: E402
from scenario import feeds, load, must_hold, receivers, sample, settled, single_updates  # noqa: E402

FEEDS, MANY, UPDATES, RATE = 4, 20, 400000, 5000


def main():
    plan = Plan(__doc__, 5, beside=("bird",))
    updates, seconds = (UPDATES // 10, 2) if plan.quick else (UPDATES, 10)
    with plan.arena() as arena:
        def single(cls, run):
            tables = Tables(FEEDS, plan.routes)
            with arena.dut(cls, feeds(FEEDS) + receivers(1)) as dut:
                fan, said = arena.holders(1), arena.own_feeds(tables)
                load(dut, fan, said, plan.routes)
                cpu = single_updates(dut, fan, said, updates)
                must_hold(fan, tables.expected())
                sample("single", "us", run, cpu / updates * 1e6, dut=cls.name)

        def paced(cls, run):
            tables = Tables(FEEDS, plan.args.routes or plan.routes // 10)
            announcer, listener = addresses(PROBES, 2)
            probes = [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=EVERYTHING)]
            with arena.dut(cls, feeds(FEEDS) + receivers(MANY - 1) + probes) as dut:
                fan, prober, said = arena.holders(MANY - 1, RECEIVERS, 65001, "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN), arena.own_feeds(tables)
                load(dut, fan, said, tables.routes)
                cpu, begin = dut.cpu_seconds(), time.monotonic()
                for f in said:
                    f.say("rate %d 1 0" % (RATE // FEEDS))
                prober.say("probe 0 1 %d %d" % (seconds * 1000 // PROBE_MS, PROBE_MS))
                probe = prober.wait("done", "probe", timeout=60)
                time.sleep(max(0, begin + seconds - time.monotonic()))
                cpu, took = dut.cpu_seconds() - cpu, time.monotonic() - begin
                for f in said:
                    f.say("rate 0")
                made = sum(f.wait("paced")["updates"] for f in said)
                if made < 0.98 * RATE * seconds:
                    raise RuntimeError("the feeds sent %d updates instead of %d" % (made, RATE * seconds))
                settled(dut, fan, 0)
                must_hold(fan, tables.expected(MANY - 1))
                sample("paced_cpu", "CPU-s", run, cpu * seconds / took, dut=cls.name)
                for k in ("p50", "p99"):
                    sample("paced_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)

        plan.alternate("single", plan.classes, single)
        plan.alternate("paced", plan.classes, paced)


if __name__ == "__main__":
    main()
