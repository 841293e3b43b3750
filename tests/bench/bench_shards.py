#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keel with 1, 2, 4 and 16 shards on one processor: what sharding costs where it can gain nothing. A table is loaded, in the order of its age as far as the feed has one,
then an import policy changes for the routes, which are kept; until a receiver has all.

  load_cpu, change_cpu     CPU microseconds of keeld a route
  load, change             seconds
  sets, sets_fullest       attribute sets of all shards, and of the one that has most
  prefixes_fullest         of the shard that has most, against the mean
Without a data plane. The feed and the receiver have the other processors."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from duts import US, Keel, policy  # noqa: E402
from scenario import Plan, feeds, idle, receivers, sample, settled  # noqa: E402

LIMIT_S = 120


def shards(n):
    class Shards(Keel):
        name = "%d-shards" % n if n > 1 else "1-shard"
        count = n
    return Shards


def changing(n):
    return policy("changing", [{"seq": 10, "action": "permit", "match": {}, "set": {"communities": {"add": ["%d:%d" % (US, n)]}}}])


def peers(n):
    return feeds(1, imports=changing(n), keep=True) + receivers(1)


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        def one(cls, run):
            def put(metric, unit, value):
                sample(metric, unit, run, value, dut=cls.name)
            with arena.dut(cls, peers(1), document={"dataplane": {"rib_threads": cls.count}}, cpus=[0]) as dut:
                fan, feed = arena.fan(1), arena.feed(0, plan.routes, per_set=0)
                fan.wait("established", timeout=60)
                feed.wait("ready")
                idle(dut)
                cpu = dut.cpu_seconds()
                feed.say("go")
                begin = feed.wait("sending")["time_ns"]
                stat = settled(dut, fan, plan.routes, limit=LIMIT_S)
                put("load_cpu", "us", (dut.cpu_seconds() - cpu) / plan.routes * 1e6)
                put("load", "s", (stat["last_ns"] - begin) / 1e9)
                each = dut.rpc.call("rib.summary")["shards"]
                put("sets", "sets", sum(s["attribute_sets"] for s in each))
                put("sets_fullest", "sets", max(s["attribute_sets"] for s in each))
                put("prefixes_fullest", "ratio", max(s["prefixes"] for s in each) * len(each) / plan.routes)
                dut.prepare(peers(2))
                idle(dut)
                cpu, begin = dut.cpu_seconds(), time.monotonic()
                dut.apply()
                stat = settled(dut, fan, plan.routes, limit=LIMIT_S)
                put("change_cpu", "us", (dut.cpu_seconds() - cpu) / plan.routes * 1e6)
                put("change", "s", stat["last_ns"] / 1e9 - begin)
        plan.alternate("shards", [shards(n) for n in (1, 2, 4, 16)], one)


if __name__ == "__main__":
    main()
