#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""An import policy accepts the routes of 5,000 origin ASes: 100,000 routes from one peer. Keel has the as-path list that bgpq4 writes for an AS set
(`^NEIGHBOUR(_[0-9]+)*_(N|N|N|N|N)$`), BIRD a set of the numbers.

  cpu            CPU seconds of the daemon until the receiver has the accepted routes
  cpu_accepting  the same with a policy that accepts all routes
The receiver's table equals an oracle's (tests/bench/oracle.c)."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import EVERYTHING, FEED_ASN, Plan, Tables, feeds, load, must_hold, policy, receivers, sample  # noqa: E402

# Every twelfth AS number of the generated tables; five in a line, as with bgpq4.
ORIGINS = tuple(180 + 12 * i for i in range(5000))
LINES = ["^%d(_[0-9]+)*_(%s)$" % (FEED_ASN, "|".join(map(str, ORIGINS[i:i + 5]))) for i in range(0, len(ORIGINS), 5)]
LISTED = policy("listed", [{"seq": 10, "action": "permit", "match": {"as_path_list": "as-set"}}],
                as_path_lists=[{"name": "as-set", "entries": [{"action": "permit", "regex": line} for line in LINES]}])


def main():
    plan = Plan(__doc__, 5, routes=100000, quick_routes=5000, beside=("bird",))
    tables = Tables(1, plan.routes)
    with plan.arena() as arena:
        def loading(name, imports, origins):
            def one(cls, run):
                expected = tables.expected(origins=origins)
                with arena.dut(cls, feeds(1, imports=imports) + receivers(1)) as dut:
                    fan = arena.holders(1)
                    _, _, cpu = load(dut, fan, arena.own_feeds(tables), expected["held"][0])
                    must_hold(fan, expected)
                    sample(name, "CPU-s", run, cpu, dut=cls.name)
            return one
        plan.alternate("listed", plan.classes, loading("cpu", LISTED, ORIGINS))
        plan.alternate("accepting", plan.classes, loading("cpu_accepting", EVERYTHING, ()))


if __name__ == "__main__":
    main()
