#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""keel-policy(7) rule 13 with a data plane: a commit that moves the whole table from one transit to the other loses and misdirects no packet. Both
transits announce one table (16,000 IPv4 and 4,000 IPv6 prefixes; KEEL_FULL=1: 1,000,000 and 200,000), and keeld keeps both. One commit swaps permit and deny of their import policies while
the worker forwards to destinations in all of the table. A static default route leads to a third port, so that a packet without a route is misdirected.
Packets come from memory and go to memory in the worker's own loop (lab ports), so the counts are exact on a slow machine too.

    rt (keeld, AS 64512; ports src, upa, upb, other) --- fa (feed, AS 64601), fb (feed, AS 64602)
"""
import os
import sys

import labtest
from labtest import BUILD, FEED, KEELD, V4, V6, Lab, need, out_folder, peer, run, wait_established, wait_for, wait_job
from lab import at_rest, cpus_of_lab
from lab_ports import LabPorts

NAME = "commit_traffic"
FULL = bool(os.environ.get("KEEL_FULL"))
COUNT = {V4: 1000000, V6: 200000} if FULL else {V4: 16000, V6: 4000}
DESTINATIONS = {V4: 1 << 20, V6: 1 << 18} if FULL else {V4: 1 << 17, V6: 1 << 15}
SHARDS = (1, 4)
ROUNDS = 3  # from a to b, and back
PORTS = ("src", "upa", "upb", "other")
A, B = 1 << 1, 1 << 2  # bits of the lab ports
ASN = {"a": 64601, "b": 64602}
SOURCE_PORT, OTHER = 0, 3


def at(net, host, family):
    return ("198.18.%d.%d" if family == V4 else "2001:db8:%d::%d") % (net, host)


PEERS = {n: {f: at(i, 2, f) for f in COUNT} for i, n in enumerate("ab", 1)}
NEXT_HOP = {f: at(OTHER, 9, f) for f in COUNT}


def policies(a=None, b=None):
    """The import policies of a and b, with the tag to add; None: deny."""
    def one(name, tag):
        how = {"action": "deny"} if tag is None else {"action": "permit", "set": {"communities": {"add": ["64512:%d" % tag]}}}
        return {"name": "from-" + name, "nodes": [dict(how, seq=10, match={})]}
    return [one("a", a), one("b", b)]


def config(shards, ports):
    worker, control = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 2048 if FULL else 512, "rib_threads": shards, "eal_args": ports.eal_args()},
        "ports": [{"name": n, "device": ports.device(i), "addresses": [at(i, 1, V4) + "/24", at(i, 1, V6) + "/64"]} for i, n in enumerate(PORTS)],
        "static_routes": [{"prefix": p, "next_hop": NEXT_HOP[f]} for p, f in (("0.0.0.0/0", V4), ("::/0", V6))],
        "route_policies": policies(a=1),
        "bgp": {"peers": [{"address": PEERS[n][f], "asn": ASN[n], "passive": True, "enforce_first_as": False,
                           "families": {f: {"import_policy": "from-" + n, "export_policy": "deny-all", "keep_all_routes": True}}}
                          for n in PEERS for f in COUNT]},
    }


class Test:
    def __init__(self, checks, lab, shards):
        self.c, self.lab, self.shards = checks, lab, shards

    # ---- building ----

    def build(self):
        lab = self.lab
        for h in ("rt", "src", "fa", "fb", "other"):
            lab.host(h, ipv6=True)
        for i, (name, host) in enumerate(zip(PORTS, ("src", "fa", "fb", "other"))):
            lab.link(host, "up", [at(i, 2, V4) + "/24", at(i, 2, V6) + "/64"], "rt", name, None)
        self.ports = LabPorts(BUILD, lab.dir, [(p, 0) for f in COUNT for p in self.listed(f)], v4=DESTINATIONS[V4], v6=DESTINATIONS[V6])
        with self.ports.environment():
            self.keeld, self.rpc = lab.keeld("rt", config(self.shards, self.ports), KEELD)
        self.fix_neighbours()
        for name in PEERS:
            for f in COUNT:
                lab.spawn("feed-%s-%s" % (name, f), "f" + name, [FEED, *self.table(f), "--connect", PEERS[name][f][:-1] + "1", "--source", PEERS[name][f],
                                                              "--asn", str(ASN[name]), "--peer-asn", "64512"], lines=True)
        wait_established(self.rpc, *(PEERS[n][f] for n in PEERS for f in COUNT))
        wait_for("both tables", lambda: all(self.of(n, f)["received"] == self.size[f] for n in PEERS for f in COUNT), 300)
        self.settled("a", "the first table")

    @staticmethod
    def table(family):
        return (["--ipv6"] if family == V6 else []) + ["--count", str(COUNT[family])]

    def listed(self, family):
        path = os.path.join(self.lab.dir, family)
        run(FEED, *self.table(family), "--list", path)
        with open(path) as f:
            prefixes = {line.split()[0] for line in f}
        self.size = dict(getattr(self, "size", {}), **{family: len(prefixes)})
        return sorted(prefixes)

    def fix_neighbours(self):
        """No neighbour expires during the traffic: all are permanent in the kernel's table."""
        for name, port in (("a", "upa"), ("b", "upb")):
            mac = self.lab.sh("f" + name, "cat /sys/class/net/up/address").strip()
            for address in PEERS[name].values():
                self.lab.sh("rt", "ip neigh replace %s lladdr %s dev %s nud permanent" % (address, mac, port))
        for address in NEXT_HOP.values():
            self.lab.sh("rt", "ip neigh replace %s lladdr 02:00:00:00:00:09 dev other nud permanent" % address)

    def of(self, name, family):
        return peer(self.rpc, PEERS[name][family])["families"][family]

    # ---- a commit ----

    def settled(self, name, what):
        """Waits until the RIB and the tables have the routes of one transit, and the audit agrees."""
        def accepted():
            return {(n, f): self.of(n, f)["accepted"] for n in PEERS for f in COUNT}
        want = {(n, f): self.size[f] if n == name else 0 for n in PEERS for f in COUNT}
        wait_for("accepted routes of %s alone" % name, lambda: accepted() == want, 60)
        at_rest(lambda: sum(t["writes"] for t in self.rpc.call("fib.stats")["tables"]))
        audit = self.rpc.call("fib.audit", limit=5)
        self.c.true("%s: the audit finds nothing" % what, audit["mismatch_count"] == 0 and audit["checked"] >= sum(self.size.values()), audit)

    def commit(self, document):
        self.rpc.call("config.edit", merge={"route_policies": document})
        jobs = [e["job"] for e in self.rpc.call("config.commit")["effects"] if e.get("job")]
        self.c.equal("its jobs end well", {wait_job(self.rpc, j)["state"] for j in jobs}, {"done"})
        wait_for("the plan's end", lambda: not self.rpc.call("system.info").get("commit_plan", {}).get("running"), 60)

    def rest(self):
        stats = self.ports.stats()
        return stats["sent"] == stats["seen"]

    def flow(self, on):
        """Starts or continues the packets until the worker has forwarded some more; or stops the packets, and returns the counts so far."""
        self.ports.run(on)
        if on:
            begin = self.ports.stats()["seen"]
            wait_for("packets", lambda: self.ports.stats()["seen"] > begin + 100000, 60)
            return None
        try:
            wait_for("the last packets", self.rest, 5)
        except TimeoutError:
            pass  # the frames are lost
        stats = self.ports.stats()
        return {"sent": stats["sent"], "lost": stats["sent"] - stats["seen"], "misdirected": stats["misdirected"],
                "by": [p["seen"] for p in stats["ports"]], "wrong": stats["reordered"] + stats["damaged"] + stats["foreign"]}

    def move(self, what, name, document):
        """A commit during traffic: packets may leave by both transits while the commit runs, and by the new transit alone after its end."""
        c, before = self.c, self.last
        self.flow(True)
        self.ports.allow("all", A | B)
        self.commit(document)
        self.settled(name, what)
        self.flow(True)  # a burst looked up before the commit's end has left
        self.ports.allow("all", A if name == "a" else B)
        self.flow(True)
        self.last = now = self.flow(False)
        got = {k: now[k] - before[k] for k in ("sent", "lost", "misdirected", "wrong")}
        by = [n - b for n, b in zip(now["by"], before["by"])]
        c.equal("%s: of %.1f million packets lost, misdirected, reordered or damaged" % (what, got["sent"] / 1e6), (got["lost"], got["misdirected"], got["wrong"]), (0, 0, 0))
        c.true("... they left by the ports of the transits alone", by[PORTS.index("up" + name)] > 100000 and by[SOURCE_PORT] == by[OTHER] == 0, by)

    def run(self):
        c = self.c
        self.build()
        self.ports.open()
        try:
            self.traffic()
        finally:
            self.ports.close()
        c.equal("no session was lost", [(p["state"], p["established_count"]) for p in self.rpc.call("bgp.peers")["peers"]], [("established", 1)] * 4)
        self.rpc.close()
        c.equal("SIGTERM: exit status 0", self.keeld.stop(), 0)

    def traffic(self):
        for i, name in enumerate(PORTS):
            self.ports.mac(i, self.lab.sh("rt", "cat /sys/class/net/%s/address" % name).strip())
            if i != SOURCE_PORT:
                self.ports.limit(i, 0)
        self.ports.pattern(0x1111111111111111)  # a fourth is IPv6
        self.ports.allow("all", A)
        self.flow(True)
        self.last = self.flow(False)
        self.c.equal("before the first commit: lost, misdirected", (self.last["lost"], self.last["misdirected"]), (0, 0))
        for i in range(ROUNDS):
            self.move("%d: from a to b" % i, "b", policies(b=1))
            self.move("%d: from b to a" % i, "a", policies(a=1))
        self.move("another tag, and from a to b", "b", policies(b=2))
        self.move("another tag", "b", policies(b=1))
        self.hole()

    def hole(self):
        """The counts see a destination without a route: where both transits are denied the packets leave by the default route."""
        self.flow(True)
        self.commit(policies())
        wait_for("packets by the default route", lambda: self.ports.stats()["ports"][OTHER]["seen"] > 0, 60)
        self.c.true("both denied: misdirected packets are counted", self.flow(False)["misdirected"] > 0)


def test(checks):
    for shards in SHARDS:
        print("---- rib_threads %d" % shards, flush=True)
        with Lab(os.path.join(OUT, "%d-shards" % shards)) as lab:
            Test(checks, lab, shards).run()


if __name__ == "__main__":
    need("ip", "ethtool", files=(KEELD, FEED))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
