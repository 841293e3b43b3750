#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A change of the import policy for a full table of kept routes, until two receivers have all changes; and a change without effect.

  change, change_cpu              every route gets another community: from the commit (or the daemon's own command) to the receivers' last UPDATE
  probe_p50, probe_p99, probe_max a route changed by another peer every 5 ms, at a peer that receives only this route, during the change
  none_cpu, none_updates          the policy gets a node without a matching route: CPU seconds, and UPDATEs to the receivers
  none_fib_writes, ..             the same for Keel with a data plane: writes into the workers' tables"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from duts import US, policy  # noqa: E402
from scenario import EVERYTHING, PROBE_MS, PROBES, RECEIVERS, RT, Arena, Peer, Plan  # noqa: E402
from scenario import addresses, change, feeds, idle, load, receivers, sample, settled, wait_for  # noqa: E402
import duts  # noqa: E402

LATE_START_S = 4  # BIRD 2 begins some 3 s after reading its configuration
PROBE_ASN = 65301
PROBE_ONLY = policy("probe-only", [{"seq": 10, "action": "permit", "match": {"prefix_list": "probe"}}],
                    prefix_lists=[{"name": "probe", "entries": [{"action": "permit", "prefix": "198.51.100.1/32"}]}])
NEVER = {"name": "never", "entries": [{"action": "permit", "prefix": "203.0.113.77/32"}]}


def changing(n, never=False):
    nodes = [{"seq": 5, "action": "deny", "match": {"prefix_list": "never"}}] if never else []
    return policy("changing", nodes + [{"seq": 10, "action": "permit", "match": {}, "set": {"communities": {"add": ["%d:%d" % (US, n)]}}}],
                  prefix_lists=[NEVER] if never else [])


def peers(document):
    announcer, listener = addresses(PROBES, 2)
    return feeds(1, imports=document, keep=True) + receivers(2) + [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=PROBE_ONLY)]


def loaded(arena, plan, dut):
    """Loads the table; returns the receivers and the prober, at rest."""
    fan, prober = arena.fan(2, RECEIVERS, 65001, "--count", 2, "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN)
    load(dut, fan, [arena.feed(0, plan.routes)], plan.routes)
    return fan, prober


def nothing(dut, fan, document, seconds):
    """(CPU seconds, UPDATEs) of a change to `document` without an effect on routes."""
    stat, _, cpu = change(dut, fan, peers(document), 0, quiet_s=seconds)
    return cpu, stat["updates"]


def main():
    plan = Plan(__doc__, 5)
    with plan.arena() as arena:
        def one(cls, run):
            with arena.dut(cls, peers(changing(1))) as dut:
                fan, prober = loaded(arena, plan, dut)
                dut.prepare(peers(changing(2)))
                idle(dut)
                prober.say("probe 0 1 65536 %d" % PROBE_MS)
                wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                fan.ask("mark", "done")
                cpu, begin = dut.cpu_seconds(), time.monotonic()
                dut.apply()
                stat = settled(dut, fan, plan.routes, probing=True)
                end = max(stat["last_ns"] / 1e9, begin)
                cpu = stat["cpu"] - cpu
                prober.say("probe-stop %d %d" % (begin * 1e9, end * 1e9))
                probe = prober.wait("done", "probe", timeout=60)
                sample("change", "s", run, end - begin, dut=cls.name)
                sample("change_cpu", "CPU-s", run, cpu, dut=cls.name)
                for k in ("p50", "p99", "max"):
                    sample("probe_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)
                if cls is duts.Keel or run == 0:
                    cpu, updates = nothing(dut, fan, changing(2, never=True), LATE_START_S)
                    sample("none_cpu", "CPU-s", run, cpu, dut=cls.name)
                    sample("none_updates", "messages", run, updates, dut=cls.name)

        def with_dataplane(cls, run):
            cpus = sorted(os.sched_getaffinity(0))
            document = {"dataplane": {"worker_cpus": [cpus[-1]], "control_cpus": cpus[:-1] or cpus, "memory_mb": 1024},
                        "ports": [{"name": "east", "device": "net_af_xdp_east,iface=east", "addresses": [RT + "/16"]}]}
            with wire.dut(cls, peers(changing(1)), args=(), document=document, cpus=cpus) as dut:
                fan, _ = loaded(wire, plan, dut)

                def writes():
                    return sum(t["writes"] for t in dut.rpc.call("fib.stats")["tables"])
                before = writes()
                cpu, updates = nothing(dut, fan, changing(1, never=True), 2)
                sample("none_dataplane_cpu", "CPU-s", run, cpu, dut=cls.name)
                sample("none_dataplane_updates", "messages", run, updates, dut=cls.name)
                sample("none_fib_writes", "writes", run, writes() - before, dut=cls.name)

        plan.alternate("change", plan.classes, one)
        keel = [c for c in plan.classes if c is duts.Keel]
        wire = Arena(arena.lab, "rt-wire", far="far") if keel else None
        plan.alternate("dataplane", keel, with_dataplane, runs=min(plan.runs, 3))


if __name__ == "__main__":
    main()
