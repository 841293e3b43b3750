#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A storm of ROUTE-REFRESH: 100,000 routes, 20 peers with 50 requests per second each, with a hold time of 9 s, for 20 s.

  lost                            lost sessions, of the 20
  probe_p50, probe_p99, probe_max a route changed by another peer every 20 ms, at a peer that receives only this route, during the storm
  rest_p99                        the same before the storm
  cpu                             CPU seconds of the daemon, from the first request until the daemon is idle
  tables                          full tables received by a peer, by octets: the number of walks for its 1,000 requests
  after                           seconds from the last request until the daemon is idle"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_policy import PROBE_ASN, PROBE_ONLY  # noqa: E402
from scenario import EVERYTHING, LIMIT_S, PROBES, RECEIVERS, Peer, Plan, Unable, addresses, bound, feeds, idle, receivers, sample, wait_for  # noqa: E402

PEERS, EACH, HOLD_S, PROBE_MS = 20, 50, 9, 20


def peers():
    announcer, listener = addresses(PROBES, 2)
    return feeds(1) + receivers(PEERS) + [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=PROBE_ONLY)]


def loaded(arena, plan, dut):
    """Loads the table; returns the asking peers, the prober, and the size of the table in octets."""
    crowd, prober, feed = arena.crowd(PEERS, RECEIVERS, 65001, hold=HOLD_S), arena.crowd(2, PROBES, PROBE_ASN), arena.feed(0, plan.routes)
    wait_for("sessions of all", lambda: crowd.ask("report", "report")["established"] == PEERS and prober.ask("report", "report")["established"] == 2, 60)
    feed.wait("ready")
    feed.say("go")
    feed.wait("done", "table")
    octets, still = 0, 0

    def told():
        nonlocal octets, still
        more = crowd.ask("report", "report")["octets"]
        octets, still = octets + more, still + 1 if octets > plan.routes and more < 50 * PEERS else 0
        return still >= 10
    wait_for("the table at all peers", told, bound(LIMIT_S), poll=0.1)
    idle(dut)
    return crowd, prober, octets / PEERS


def main():
    plan = Plan(__doc__, 3, routes=100000, quick_routes=5000)
    seconds = 3 if plan.quick else 20
    with plan.arena() as arena:
        def one(cls, run):
            with arena.dut(cls, peers()) as dut:
                crowd, prober, table = loaded(arena, plan, dut)
                prober.say("probe 0 1 100 %d" % PROBE_MS)
                rest = prober.wait("done", "probe", timeout=60)
                crowd.ask("report", "report")
                cpu, begin = dut.cpu_seconds(), time.monotonic()
                prober.say("probe 0 1 65535 %d" % PROBE_MS)
                crowd.say("refresh %d %d" % (PEERS * EACH, seconds))
                requests = crowd.wait("done", "refresh", timeout=seconds + 60)["requests"]
                end = time.monotonic()
                prober.say("probe-stop %d %d" % (begin * 1e9, end * 1e9))
                probe = None
                try:
                    probe = prober.wait("done", "probe", timeout=bound(LIMIT_S))
                except TimeoutError:
                    pass
                try:
                    idle(dut, 1, LIMIT_S)
                except Unable:
                    pass
                after = time.monotonic() - end
                seen = crowd.ask("report", "report")
                tables = seen["octets"] / PEERS / table
                sample("lost", "sessions", run, PEERS - seen["established"], dut=cls.name)
                sample("tables", "walks", run, tables, dut=cls.name)
                if tables < 0.5 and not PEERS - seen["established"]:
                    raise Unable("answers no request; without that work a probe's p99 was %.1f ms" % (probe["p99_us"] / 1000 if probe else float("inf")))
                sample("rest_p99", "ms", run, rest["p99_us"] / 1000, dut=cls.name)
                for k in ("p50", "p99", "max") if probe else ():
                    sample("probe_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)
                sample("cpu", "CPU-s", run, dut.cpu_seconds() - cpu, dut=cls.name)
                sample("requests", "requests", run, requests, dut=cls.name)
                sample("after", "s", run, after, dut=cls.name)
                if not probe:
                    raise Unable("a probe route's change did not come through within %d s of the storm's end" % LIMIT_S)
        plan.alternate("storm", plan.classes, one, once_s=75)


if __name__ == "__main__":
    main()
