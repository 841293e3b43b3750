#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VPNv4 route reflector: 500 route distinguishers with the same prefixes each, 500,000 routes in all, from one client to three.

  reflect, reflect_cpu, reflect_memory   seconds from the feed's first octet until the last receiver has the last UPDATE; CPU seconds of the
                                         daemon; resident afterwards
  default_alone, default_beside          CPU seconds of Keel for a full IPv4 table to three receivers; the same beside 2,000 sessions with an export
                                         policy each, so 2,000 update groups of the VPNv4 and VPNv6 tables. In turns.
                                         Without the CPU of the same time at rest: default_rest, default_rest_beside (CPU seconds a second)
Each distinguisher has a label and a route target of its own. All receivers of all daemons must hold the same table: distinguishers, prefixes, labels
and attributes (without next hop)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import (CLIENT_ASN, EVERYTHING, FEED, FEEDS, PER_SET, RECEIVERS, RT, US, Peer, Plan, Tables, Wrong, addresses,  # noqa: E402
                      clients, feeds, load, must_hold, ours, ready, receivers, sample, send)
from duts import VPN4  # noqa: E402

RDS, NUMBER = 500, 3
VPN6 = "vpnv6-unicast"
GROUPS, QUICK_GROUPS, REST_S = 2000, 100, 5
SLOW_S = 600  # FRR takes minutes on a busy machine


def client(address):
    return Peer(address, US, imports=EVERYTHING, exports=EVERYTHING, families=(VPN4,), client=True)


def main():
    plan = Plan(__doc__, 5, routes=500000, beside=("frr", "gobgp", "openbgpd"))
    each = max(1, plan.routes // RDS)
    routes, seen = each * RDS, {}

    def must_agree(name, tables):
        """The receivers of a daemon hold all routes, and what the receivers of the other daemons held."""
        if set(tables["held"]) != {routes} or len(set(tables["sum"])) != 1:
            raise Wrong("the receivers hold %s of %d routes, in %d different tables" % (tables["held"], routes, len(set(tables["sum"]))))
        if seen.setdefault("sum", tables["sum"][0]) != tables["sum"][0]:
            raise Wrong("the receivers of %s hold another table than those of %s" % (name, seen["name"]))
        seen.setdefault("name", name)

    with plan.arena() as arena:
        def reflect(cls, run):
            feed, fans = addresses(FEEDS, 1)[0], addresses(RECEIVERS, NUMBER)
            with arena.dut(cls, [client(a) for a in (feed, *fans)]) as dut:
                said = arena.spawn("feed", [FEED, "--connect", RT, "--source", feed, "--next-hop", feed, "--asn", US, "--peer-asn", US, "--vpn", "--rds", RDS,
                                            "--count", each, "--per-set", PER_SET, "--wait"])
                fan = arena.fan(NUMBER, RECEIVERS, US, "--one-as", "--vpn", "--count", NUMBER, "--tables")
                _, seconds, cpu = load(dut, fan, [said], routes, limit=SLOW_S)
                must_agree(cls.name, fan.ask("tables", "tables"))
                sample("reflect", "s", run, seconds, dut=cls.name)
                sample("reflect_cpu", "CPU-s", run, cpu, dut=cls.name)
                sample("reflect_memory", "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
        plan.alternate("reflect", plan.classes, reflect)

        groups, tables = QUICK_GROUPS if plan.quick else GROUPS, Tables(1, plan.routes)

        def default(cls, run):
            for beside in (False, True) if run % 2 == 0 else (True, False):
                half = groups // 2
                others = [c._replace(families=(VPN6 if i >= half else VPN4,)) for i, c in enumerate(clients(groups))] if beside else []
                with arena.dut(cls, feeds(1) + receivers(NUMBER) + others) as dut:
                    for i, more in enumerate(((), ("--ipv6",)) if beside else ()):
                        fan = arena.fan(half, others[i * half].address, CLIENT_ASN + i * half, "--vpn", *more)
                        fan.wait("established", timeout=SLOW_S)
                        seen = fan.ask("stat", "stat")["established"]
                        if seen != half:
                            raise Wrong("%d of %d sessions" % (seen, half))
                    fan = arena.holders(NUMBER)
                    said = arena.own_feeds(tables)
                    ready(dut, fan, said)
                    rest, begin = dut.cpu_seconds(), time.monotonic()
                    time.sleep(REST_S)
                    rest, begin = (dut.cpu_seconds() - rest) / (time.monotonic() - begin), time.monotonic()
                    _, _, cpu = send(dut, fan, said, tables.routes)
                    cpu -= rest * (time.monotonic() - begin)
                    must_hold(fan, tables.expected(NUMBER))
                    sample("default_beside" if beside else "default_alone", "CPU-s", run, cpu, dut=cls.name)
                    sample("default_rest_beside" if beside else "default_rest", "CPU-s/s", run, rest, dut=cls.name)
        plan.alternate("default", [c for c in plan.classes if ours(c)], default)


if __name__ == "__main__":
    main()
