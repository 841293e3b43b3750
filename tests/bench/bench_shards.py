#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keel with 1, 2, 4 and 16 shards on one processor: the cost of sharding without parallel work. A table is loaded, ordered by age where the feed
has ages, then an import policy changes for the kept routes; until a receiver has all routes.

  load_cpu, change_cpu     CPU microseconds of keeld per route
  load, change             seconds
  updates                  UPDATE messages of the load to the receiver
  memory                   resident after the load
  sets, sets_fullest       attribute sets of all shards, and of the fullest shard
  prefixes_fullest         prefixes of the fullest shard, relative to the mean
Without a data plane. The feed and the receiver have the other processors."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import changing  # noqa: E402
from duts import Keel  # noqa: E402
from scenario import Plan, change, feeds, load, receivers, sample  # noqa: E402


def shards(n):
    class Shards(Keel):
        name = "%d-shards" % n if n > 1 else "1-shard"
        count = n
    return Shards


def peers(n):
    return feeds(1, imports=changing(n), keep=True) + receivers(1)


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        def one(cls, run):
            def put(metric, unit, value):
                sample(metric, unit, run, value, dut=cls.name)
            with arena.dut(cls, peers(1), document={"dataplane": {"rib_threads": cls.count}}, cpus=[0]) as dut:
                fan = arena.fan(1)
                stat, seconds, cpu = load(dut, fan, [arena.feed(0, plan.routes, per_set=0)], plan.routes)
                put("load_cpu", "us", cpu / plan.routes * 1e6)
                put("load", "s", seconds)
                put("updates", "messages", stat["updates"])
                put("memory", "MB", dut.resident_bytes() / 1e6)
                each = dut.rpc.call("rib.summary")["shards"]
                put("sets", "sets", sum(s["attribute_sets"] for s in each))
                put("sets_fullest", "sets", max(s["attribute_sets"] for s in each))
                put("prefixes_fullest", "ratio", max(s["prefixes"] for s in each) * len(each) / plan.routes)
                _, seconds, cpu = change(dut, fan, peers(2), plan.routes)
                put("change_cpu", "us", cpu / plan.routes * 1e6)
                put("change", "s", seconds)
        plan.alternate("shards", [shards(n) for n in (1, 2, 4, 16)], one)


if __name__ == "__main__":
    main()
