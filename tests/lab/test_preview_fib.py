#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""bgp.refresh.preview with a data plane: numbers of destinations with another path, no path, or a path again, compared with the tables after the
commit; the preview writes no table and makes no generation. Event `fib`, and the data plane's part of GET /metrics.

    rt (keeld, AS 64512; ports upa, upb) --- fa (feed, AS 64601, routes kept), fb (feed, AS 64602), both with one table
"""
import os
import random
import re
import sys

import labtest
from labtest import FEED, KEELD, V4, Lab, in_netns, need, out_folder, peer, routes, wait_established, wait_for, wait_job
from lab import at_rest, cpus_of_lab
from test_management import HTTP, Events, ask

NAME = "preview_fib"
A, B = "198.18.1.2", "198.18.2.2"
COUNT = 5000
SEED = int(os.environ.get("SEED", 1))


def policy(name, low, middle, rest):
    """Local preference by range of the prefix; None: denied."""
    nodes = []
    for i, (where, preference) in enumerate((("low", low), ("middle", middle), (None, rest)), 1):
        node = {"seq": 10 * i, "action": "deny" if preference is None else "permit", "match": {"prefix_list": where} if where else {}}
        if preference is not None:
            node["set"] = {"local_pref": preference}
        nodes.append(node)
    return {"name": name, "nodes": nodes}


def config(worker, control):
    def neighbour(address, asn, name, keep):
        return {"address": address, "asn": asn, "passive": True, "enforce_first_as": False,
                "families": {V4: {"import_policy": name, "export_policy": "deny-all", "keep_all_routes": keep}}}

    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "management": {"http": "%s:%d" % HTTP},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [a]} for n, a in (("upa", "198.18.1.1/24"), ("upb", "198.18.2.1/24"))],
        "prefix_lists": [{"name": "low", "entries": [{"action": "permit", "prefix": "0.0.0.0/2", "le": 32}]},
                         {"name": "middle", "entries": [{"action": "permit", "prefix": "64.0.0.0/2", "le": 32}]}],
        "route_policies": [policy("in-a", 200, None, 200), policy("in-b", 100, None, 100)],
        "bgp": {"peers": [neighbour(A, 64601, "in-a", True), neighbour(B, 64602, "in-b", True)]},
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        worker, control = cpus_of_lab()
        for h in ("rt", "fa", "fb"):
            lab.host(h)
        lab.link("fa", "up", A + "/24", "rt", "upa", None)
        lab.link("fb", "up", B + "/24", "rt", "upb", None)
        _, self.rpc = lab.keeld("rt", config(worker, control), KEELD)
        for name, address, asn in (("fa", A, 64601), ("fb", B, 64602)):
            lab.spawn("feed-" + name, name, [FEED, "--count", str(COUNT), "--connect", address[:-1] + "1", "--source", address, "--asn", str(asn),
                                             "--peer-asn", "64512"], lines=True)
        wait_established(self.rpc, A, B)
        wait_for("both tables", lambda: [peer(self.rpc, a)["families"][V4]["received"] for a in (A, B)] == [COUNT, COUNT], 60)
        self.settled()

    def settled(self):
        """Number of mismatches in the audit, which waits for changes in transit."""
        return self.rpc.call("fib.audit")["mismatch_count"]

    def best(self):
        return {r["prefix"]: r["next_hop"] for r in routes(self.rpc, view="loc", limit=10000) if r["best"]}

    def tables(self):
        def now():
            s = self.rpc.call("fib.stats")
            return s["tables"][0]["routes"], s["tables"][0]["writes"], s["generation"]

        return at_rest(now)

    def change(self, what, *policies):
        c, before, was = self.c, self.tables(), self.best()
        self.rpc.call("config.edit", patch=[{"op": "replace", "path": "/route_policies", "value": list(policies)}])
        r = self.rpc.call("bgp.refresh.preview", candidate=True)
        c.equal("%s: the preview wrote nothing, no generation" % what, self.tables(), before)
        for e in self.rpc.call("config.commit")["effects"]:
            if e.get("job"):
                wait_job(self.rpc, e["job"])
        now = self.best()
        c.equal("... fib is what then happens", r["fib"], {"added": len(set(now) - set(was)), "removed": len(set(was) - set(now)),
                                                           "changed": sum(was[p] != now[p] for p in set(was) & set(now))})
        c.equal("... and the tables agree with the RIB", self.settled(), 0)
        return r["fib"]

    def two_ways(self):
        """Number of destinations with paths to both."""
        paths = [self.rpc.call("fib.lookup", address=p.split("/")[0])["paths"] for p in self.best()]
        return sum(sum(not w.get("backup") for w in ways) == 2 for ways in paths)

    def max_paths(self):
        """A change of max_paths alone: no path changes, and no peer has a line."""
        c = self.c
        self.change("both are as good", policy("in-a", 100, 100, 100), policy("in-b", 100, 100, 100))
        for value, ways in ((2, lambda fib: fib["changed"]), (1, lambda fib: 0)):
            self.rpc.call("config.edit", patch=[{"op": "add", "path": "/bgp/max_paths", "value": value}])
            r = self.rpc.call("bgp.refresh.preview", candidate=True)
            self.rpc.call("config.commit")
            c.true("max_paths %d: the preview has many that change, of nobody's paths" % value,
                   r["fib"]["changed"] > 100 and r["fib"]["added"] == r["fib"]["removed"] == 0 and r["peers"] == [], r)
            c.comes_to("... and so it is", self.two_ways, ways(r["fib"]), 30)

    def entries(self, prefixes):
        """{prefix: where the workers send its first address}, of those with an entry of their own."""
        found = {}
        for p in prefixes:
            r = self.rpc.call("fib.lookup", address=p.split("/")[0])
            if r["prefix"] == p:
                found[p] = (r["kind"], sorted(w["next_hop"] for w in r["paths"] if not w.get("backup")))
        return found

    def own_routes(self):
        """Drawn at random: static routes, beside routes of the peers and alone, networks, redistribution, `preference`."""
        rng, c = random.Random(SEED), self.c
        fed = rng.sample(sorted(self.best()), 8)
        every = fed + ["198.51.100.0/28", "198.51.100.16/28", "198.51.100.32/28"]
        total = {"added": 0, "removed": 0, "changed": 0}
        for i in range(25):
            hops = [dict(blackhole=True), dict(next_hop=A), dict(next_hop=B)]
            parts = {"/static_routes": lambda: [dict({"prefix": p}, **rng.choice(hops)) for p in rng.sample(every, 5)],
                     "/preference": lambda: {"static": rng.choice((1, 250))},
                     "/bgp/networks": lambda: [{"prefix": p} for p in rng.sample(every, 3)],
                     "/bgp/redistribute": lambda: rng.choice(([], [{"source": "static"}]))}
            self.rpc.call("config.edit", patch=[{"op": "add", "path": p, "value": parts[p]()} for p in rng.sample(sorted(parts), rng.choice((1, 1, 2)))])
            was = self.entries(every)
            fib = self.rpc.call("bgp.refresh.preview", candidate=True)["fib"]
            self.rpc.call("config.commit")
            self.settled()
            now = self.entries(every)
            happened = {"added": len(set(now) - set(was)), "removed": len(set(was) - set(now)), "changed": sum(was[p] != now[p] for p in set(was) & set(now))}
            if fib != happened or i == 24:
                c.equal("own routes, seed %d, commit %d: fib is what then happens" % (SEED, i), fib, happened)
            total = {k: total[k] + fib[k] for k in total}
        c.true("... some each", min(total.values()) > 5, total)
        self.rpc.call("config.edit", patch=[{"op": "add", "path": p, "value": {} if p == "/preference" else []} for p in parts])
        self.rpc.call("config.commit")

    def metrics(self):
        """{sample with its labels: value} of GET /metrics."""
        _, _, body = in_netns(self.lab.netns("rt"), lambda: ask(None, method="GET", path="/metrics"))
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^([a-z_0-9]+\{.*\}) (\S+)$", body.decode(), re.M)}

    def dataplane_metrics(self):
        c, v4 = self.c, '{vrf="default",family="ipv4-unicast"}'
        routes_now, writes, generation = self.tables()
        values = self.metrics()
        c.equal("GET /metrics: the forwarding tables", [values.get(k) for k in ("keel_fib_routes" + v4, "keel_fib_writes_total" + v4, "keel_fib_generation{}")],
                [routes_now, writes, generation])
        stats, workers = self.rpc.call("fib.stats"), self.rpc.call("dataplane.stats")["workers"]
        c.true("... how long UPDATEs took until all workers use them", values.get("keel_update_to_workers_seconds_count{}", 0) > 0 and
               stats["update_to_workers_ns"]["count"] > 0 and stats["update_to_workers_ns"]["max"] > 0, stats)
        c.true("... commits held up are some of all", 0 <= stats["commits_delayed"] <= stats["grace_late"] <= stats["commits"], stats)
        c.equal("... loop gaps", sorted(k for k in values if k.startswith("keel_worker_loop_gap_seconds_count")),
                sorted('keel_worker_loop_gap_seconds_count{cpu="%d"}' % w["cpu"] for w in workers))
        self.rpc.call("dataplane.stats.reset")
        c.true("dataplane.stats.reset: those of the tables, too", self.rpc.call("fib.stats")["update_to_workers_ns"]["count"] <
               stats["update_to_workers_ns"]["count"], stats)
        c.true("GET /metrics: ports, workers and reasons of drops", 'keel_port_rx_packets_total{port="upa"}' in values and
               any(k.startswith("keel_worker_forwarded_total{") for k in values) and any(k.startswith("keel_worker_drops_total{") for k in values), sorted(values))

    def run(self):
        c = self.c
        self.build()
        self.dataplane_metrics()
        events = Events(os.path.join(self.lab.dir, "keeld.sock"), "fib")
        fib = self.change("a quarter moves to the other, another comes in", policy("in-a", 50, None, 200), policy("in-b", 100, 100, 100))
        now = self.tables()[2]
        c.equal("... event fib: the generation that came of it", events.wait("fib", lambda e: e["generation"] >= now)["generation"], now)
        c.true("... some each", fib["changed"] > 100 and fib["added"] > 100 and fib["removed"] == 0, fib)
        fib = self.change("what is worse everywhere", policy("in-a", 60, None, 200), policy("in-b", 100, 100, 100))
        c.equal("... moves nothing", fib, {"added": 0, "removed": 0, "changed": 0})
        fib = self.change("one gone, the other not alone for all of it", policy("in-a", None, None, 200), policy("in-b", None, 100, None))
        c.true("... some are removed", fib["removed"] > 100 and fib["added"] == 0, fib)
        self.max_paths()
        self.own_routes()
        c.equal("the sessions live on", [(p["state"], p["established_count"]) for p in self.rpc.call("bgp.peers")["peers"]], [("established", 1)] * 2)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", files=(KEELD, FEED))
    sys.exit(labtest.main(test))
