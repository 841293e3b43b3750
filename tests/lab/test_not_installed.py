#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A forwarding table without room: prefixes that are not installed are not advertised. A peer sends more prefixes longer than /24 (IPv4) and longer
than /24 of IPv6 than the tables have groups, and a default route that would take their packets. The receiver must hold the prefixes of the workers' tables, also
after some prefixes are withdrawn and others take their place.

    rt (keeld, AS 64512; ports upa, upb) --- fa (speaker, AS 64601), fb (speaker, AS 64602: receives)
"""
import struct
import sys

import labtest
from labtest import KEELD, UPDATE, V4, V6, Lab, Speaker, need, out_folder, peer, wait_established, wait_for, wait_job
from lab import at_rest, cpus_of_lab
from wire import attribute, mp_reach, mp_unreach, update

NAME = "not_installed"
A, B = "198.18.1.2", "198.18.2.2"
HOP6 = "2001:db8:1::2"
COUNT = 4000
MEMORY_MB = 440  # two copies of both first levels take 324 of the 330 left by EAL: some 1,500 groups of each family
PACK = 200
ATTRIBUTES = attribute(0x40, 1, b"\0") + attribute(0x40, 2, b"\2\1" + struct.pack(">I", 64601))


def config(worker, control, memory):
    families = {f: {"import_policy": "accept-all", "export_policy": "accept-all"} for f in (V4, V6)}
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": memory},
        "ports": [{"name": "upa", "device": "net_af_xdp_upa,iface=upa", "addresses": ["198.18.1.1/24", "2001:db8:1::1/64"]},
                  {"name": "upb", "device": "net_af_xdp_upb,iface=upb", "addresses": ["198.18.2.1/24", "2001:db8:2::1/64"]}],
        "bgp": {"peers": [{"address": a, "asn": n, "passive": True, "families": families} for a, n in ((A, 64601), (B, 64602))]},
    }


def v4(i):
    return "20.%d.%d.%d/25" % (i // 256, i % 256, 128 * (i % 2))


def v6(i):
    return "2a00:%x:%x::/48" % (i + 1, i + 1)


def announce4(prefixes):
    return update(ATTRIBUTES + attribute(0x40, 3, bytes(map(int, A.split(".")))), prefixes)


def chunks(items):
    return [items[i:i + PACK] for i in range(0, len(items), PACK)]


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        worker, control = cpus_of_lab()
        for h in ("rt", "fa", "fb"):
            lab.host(h, ipv6=True)
        lab.link("fa", "up", A + "/24", "rt", "upa", None)
        lab.link("fb", "up", B + "/24", "rt", "upb", None)
        _, self.rpc = lab.keeld("rt", config(worker, control, MEMORY_MB), KEELD)
        self.sender = Speaker(lab.netns("fa"), A, A[:-1] + "1", 64601, families=(V4, V6)).up()
        self.receiver = Speaker(lab.netns("fb"), B, B[:-1] + "1", 64602, families=(V4, V6)).up()
        wait_established(self.rpc, A, B)

    def send(self, *bodies):
        for b in bodies:
            self.sender.send(UPDATE, b)

    def tables(self):
        return {t["family"]: t for t in self.rpc.call("fib.stats")["tables"]}

    def settled(self, sent):
        """Waits until keeld has all sent routes, and no figure changes. Every step is awaited, without a time limit on its own."""
        def have():
            f = peer(self.rpc, A)["families"]
            return [f[x]["received"] for x in (V4, V6)] == [len(sent[V4]), len(sent[V6])]
        wait_for("the sender's routes", have, 60)

        def now():
            t = self.tables()
            return [t[f][k] for f in (V4, V6) for k in ("routes", "not_installed")] + [len(self.receiver.rib), len(self.receiver.withdrawn)]
        return at_rest(now)

    def installed(self, prefixes):
        """The prefixes returned from the workers' tables for their first address."""
        return {p for p in prefixes if self.rpc.call("fib.lookup", address=p.split("/")[0])["prefix"] == p}

    def compare(self, what, sent):
        c = self.c
        self.settled(sent)
        every = sent[V4] | sent[V6]
        there = self.installed(every)
        c.comes_to("%s: the receiver has what the workers' tables have" % what, lambda: set(self.receiver.rib) ^ there, set())
        c.true("... which is not all", 100 < len(there) < len(every), (len(there), len(every)))
        t = self.tables()
        audit = self.rpc.call("fib.audit")
        c.equal("... fib.audit: not installed, apart from mismatches", (audit["not_installed"], audit["mismatches"]), (len(every - there), []))
        c.equal("... and fib.stats", sum(t[f]["not_installed"] for f in (V4, V6)), len(every - there))
        refused = [peer(self.rpc, A)["families"][f]["refused"].get("not-installed", 0) for f in (V4, V6)]
        c.equal("... and bgp.peers: refused", refused, [t[f]["not_installed"] for f in (V4, V6)])
        alarms = [a["kind"] for a in self.rpc.call("system.info")["alarms"]]
        c.true("... with an alarm", "not-installed" in alarms, alarms)
        return there

    def run(self):
        c = self.c
        self.build()
        sent = {V4: {v4(i) for i in range(COUNT)} | {"0.0.0.0/0"}, V6: {v6(i) for i in range(COUNT)} | {"::/0"}}
        self.send(announce4(["0.0.0.0/0"]), update(ATTRIBUTES + mp_reach(V6, [HOP6], ["::/0"])))
        self.send(*[announce4([v4(i) for i in part]) for part in chunks(range(COUNT))])
        self.send(*[update(ATTRIBUTES + mp_reach(V6, [HOP6], [v6(i) for i in part])) for part in chunks(range(COUNT))])
        there = self.compare("more prefixes than groups", sent)

        gone4 = sorted(p for p in there if p.endswith("/25"))[:100]
        gone6 = sorted(p for p in there if p.endswith("/48"))[:100]
        self.send(*[update(withdrawn=part) for part in chunks(gone4)])
        self.send(*[update(mp_unreach(V6, part)) for part in chunks(gone6)])
        sent[V4] -= set(gone4)
        sent[V6] -= set(gone6)
        again = self.compare("200 withdrawn: others get their place", sent)
        c.true("... and are advertised", len(again - there) >= 100, len(again - there))

        self.receiver.close()
        self.receiver = Speaker(self.lab.netns("fb"), B, B[:-1] + "1", 64602, families=(V4, V6)).up()
        wait_for("the whole table", lambda: self.receiver.ended == {V4, V6}, 60)
        self.compare("a receiver that comes later", sent)

        rest = sorted((sent[V4] | sent[V6]) - set(sorted(again)[::4]) - {"0.0.0.0/0", "::/0"})
        self.send(*[update(withdrawn=part) for part in chunks([p for p in rest if ":" not in p])])
        self.send(*[update(mp_unreach(V6, part)) for part in chunks([p for p in rest if ":" in p])])
        for f in (V4, V6):
            sent[f] -= set(rest)
        self.settled(sent)
        c.comes_to("room for all: the receiver has all", lambda: set(self.receiver.rib), sent[V4] | sent[V6])
        job = self.rpc.call("fib.audit", wait=False)["job"]
        ended = wait_job(self.rpc, job)
        c.equal("fib.audit {wait: false}: a job", (ended["kind"], ended["state"]), ("audit", "done"))
        c.true("... whose progress reaches its total", 0 < ended["total"] == ended["done"], ended)
        c.equal("... and whose result is that of the call", sorted(ended["result"]), sorted(self.rpc.call("fib.audit")))
        c.equal("... nothing is not installed", self.rpc.call("fib.audit")["not_installed"], 0)
        c.true("... and the alarm is over", "not-installed" not in [a["kind"] for a in self.rpc.call("system.info")["alarms"]])


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", files=(KEELD,))
    sys.exit(labtest.main(test))
