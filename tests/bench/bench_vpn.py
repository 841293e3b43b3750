#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VPNv4 route reflector: 500 route distinguishers with the same prefixes each, 500,000 routes in all, from one client to three.

  reflect, reflect_cpu, reflect_memory   seconds from the feed's first octet until the last receiver has the last UPDATE; CPU seconds of the
                                         daemon; resident afterwards
  import, import_cpu, import_memory      the same of Keel with an instance for each distinguisher, which imports the distinguisher's routes; in turns
                                         with reflect_again_cpu, the CPU without instances
  target_cpu, target                     then one commit adds a second target to one instance: CPU seconds until the instance has the routes, and seconds
  many_resident, many_forwarding         with a data plane, 1,000 instances of 100 IPv4 and 100 IPv6 routes: resident above the same daemon without instances, and
                                         the forwarding tables of the largest instance
  default_alone, default_beside          CPU seconds of Keel for a full IPv4 table to three receivers; the same beside 2,000 sessions with an export
                                         policy each, so 2,000 update groups of the VPNv4 and VPNv6 tables. In turns.
                                         Without the CPU of the same time at rest: default_rest, default_rest_beside (CPU seconds a second)
Each distinguisher has a label and a route target of its own. All receivers of all daemons must hold the same table: distinguishers, prefixes, labels
and attributes (without next hop)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import (CLIENT_ASN, Arena, idle, wait_for, EVERYTHING, FEED, FEEDS, PER_SET, RECEIVERS, RT, US, Peer, Plan, Tables, Wrong, addresses,  # noqa: E402
                      clients, feeds, load, must_hold, ours, ready, receivers, sample, send)
from duts import VPN4  # noqa: E402

RDS, NUMBER = 500, 3
VPN_ASN = 64512  # administrator of distinguishers and targets, as in feed.c
VPN6 = "vpnv6-unicast"
GROUPS, QUICK_GROUPS, REST_S = 2000, 100, 5
MANY, MANY_ROUTES = 1000, 100
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

        def imported(dut):
            return [v.get("imported", 0) for v in dut.rpc.call("vrf.list")["vrfs"] if v["name"] != "default"]

        def instances(cls, run):
            feed, fans = addresses(FEEDS, 1)[0], addresses(RECEIVERS, NUMBER)
            names = [{"name": "i%d" % i, "rd": "%d:%d" % (VPN_ASN, i), "import_targets": ["%d:%d" % (VPN_ASN, i)]} for i in range(1, RDS + 1)]
            for among in (False, True) if run % 2 == 0 else (True, False):
                with arena.dut(cls, [client(a) for a in (feed, *fans)], **({"document": {"vrfs": names}} if among else {})) as dut:
                    said = arena.spawn("feed", [FEED, "--connect", RT, "--source", feed, "--next-hop", feed, "--asn", US, "--peer-asn", US, "--vpn", "--rds",
                                                RDS, "--count", each, "--per-set", PER_SET, "--wait"])
                    fan = arena.fan(NUMBER, RECEIVERS, US, "--one-as", "--vpn", "--count", NUMBER, "--tables")
                    _, seconds, cpu = load(dut, fan, [said], routes, limit=SLOW_S)
                    must_agree(cls.name, fan.ask("tables", "tables"))
                    if not among:
                        sample("reflect_again_cpu", "CPU-s", run, cpu, dut=cls.name)
                        continue
                    if imported(dut) != [each] * RDS:
                        raise Wrong("not every instance imported %d routes" % each)
                    sample("import", "s", run, seconds, dut=cls.name)
                    sample("import_cpu", "CPU-s", run, cpu, dut=cls.name)
                    sample("import_memory", "MB", run, dut.resident_bytes() / 1e6, dut=cls.name)
                    more = dict(names[0], import_targets=names[0]["import_targets"] + names[1]["import_targets"])
                    dut.rpc.call("config.edit", merge={"vrfs": [more, *names[1:]]})
                    cpu, begin = dut.cpu_seconds(), time.monotonic()
                    dut.apply()
                    while imported(dut) != [2 * each] + [each] * (RDS - 1):
                        if time.monotonic() > begin + SLOW_S:
                            raise Wrong("the instance did not import the routes of its new target")
                        time.sleep(0.01)  # vrf.list is no event
                    sample("target", "s", run, time.monotonic() - begin, dut=cls.name)
                    sample("target_cpu", "CPU-s", run, dut.cpu_seconds() - cpu, dut=cls.name)
        plan.alternate("import", [c for c in plan.classes if ours(c)], instances)

        def many(cls, run):
            cpus, count = sorted(os.sched_getaffinity(0)), 50 if plan.quick else MANY
            names = [{"name": "i%d" % i, "rd": "%d:%d" % (VPN_ASN, i), "import_targets": ["%d:%d" % (VPN_ASN, i)]} for i in range(1, count + 1)]
            document = {"dataplane": {"worker_cpus": [cpus[-1]], "control_cpus": cpus[:-1] or cpus, "memory_mb": 1024},
                        "ports": [{"name": "east", "device": "net_af_xdp_east,iface=east", "addresses": [RT + "/16"], "mpls": True}]}
            fed = addresses(FEEDS, 2)
            peers = [client(fed[0]), client(fed[1])._replace(families=(VPN6,))]
            with wire.dut(cls, peers, args=(), document=document, cpus=cpus) as dut:
                idle(dut)
                empty = dut.resident_bytes()
                dut.rpc.call("config.edit", merge={"vrfs": names})
                dut.apply()
                said = [wire.spawn("feed", [FEED, "--connect", RT, "--source", a, "--next-hop", a, "--asn", US, "--peer-asn", US, "--vpn", "--rds", count,
                                            "--count", MANY_ROUTES, "--per-set", PER_SET, "--wait", *more]) for a, more in zip(fed, ((), ("--ipv6",)))]
                for f in said:
                    f.wait("ready")
                    f.say("go")

                def installed():
                    return [sum(t["routes"] for t in dut.rpc.call("fib.stats", vrf=x["name"])["tables"]) for x in names]
                wait_for("all routes in all instances", lambda: min(installed()) >= 2 * MANY_ROUTES, SLOW_S)
                idle(dut)
                forwarding = [sum(t["memory_bytes"] for t in dut.rpc.call("fib.stats", vrf=x["name"])["tables"]) for x in names]
                sample("many_resident", "MB", run, (dut.resident_bytes() - empty) / 1e6, dut=cls.name)
                sample("many_forwarding", "KiB", run, max(forwarding) / 1024, dut=cls.name)
        keel = [c for c in plan.classes if ours(c)]
        wire = Arena(arena.lab, "rt-wire", far="far") if keel else None
        plan.alternate("many", keel, many)

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
