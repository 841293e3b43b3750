#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Packets of two VPN instances with equal addresses over a labelled link, IPv4 and IPv6: each edge router pushes the label of the other router's instance
and pops its own. Hosts reach their own instance alone; a customer's labelled packet, and a packet without a route, are dropped under their names; an explicit
null of a static label-switched path lies above the label; a removed instance forwards nothing.

    c1, d1 --- pe1 (keeld) ===== pe2 (keeld) --- c2, d2        red: c1, c2; blue: d1, d2
"""
import json
import re
import socket
import struct

import labtest
from labtest import KEELD, Lab, error_of, in_netns, need, out_folder
from lab import cpus_of_lab, worker_drops

NAME = "mpls"
CORE = {1: "198.18.0.1", 2: "198.18.0.2"}
VRFS = (("red", "c", "64512:1", 3), ("blue", "d", "64512:2", 4))  # name, hosts, RD and target, last octet of an address that no other instance has
VPN = ("vpnv4-unicast", "vpnv6-unicast")


def config(pe, worker, control):
    other = 3 - pe
    return {
        "router": {"asn": 64512, "router_id": CORE[pe]},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "vrfs": [{"name": vrf, "rd": target, "import_targets": [target], "export_targets": [target]} for vrf, _, target, _ in VRFS],
        "ports": [{"name": "core", "device": "net_af_xdp_core,iface=core", "addresses": [CORE[pe] + "/24"], "mpls": True}] +
                 [{"name": vrf, "device": "net_af_xdp_%s,iface=%s" % (vrf, vrf), "vrf": vrf,
                   "addresses": ["10.%d.0.1/24" % pe, "2001:db8:%d::1/64" % pe]} for vrf, _, _, _ in VRFS],
        "bgp": {"networks": [{"prefix": p, "vrf": vrf} for vrf, _, _, _ in VRFS for p in ("10.%d.0.0/24" % pe, "2001:db8:%d::/64" % pe)],
                "peers": [{"address": CORE[other], "asn": 64512, "passive": pe == 1, "timers": {"connect_retry_s": 1, "idle_hold_s": 1}, "families": {f: {} for f in VPN}}]},
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        worker, control = cpus_of_lab()
        for h in ("pe1", "pe2", "c1", "c2", "d1", "d2"):
            lab.host(h, ipv6=True)
        lab.link("pe1", "core", None, "pe2", "core", None)
        for vrf, host, _, own in VRFS:
            for pe in (1, 2):
                h = "%s%d" % (host, pe)
                lab.link(h, "up", "10.%d.0.2/24" % pe, "pe%d" % pe, vrf, None)
                lab.sh(h, "ip address add 2001:db8:%d::2/64 dev up nodad" % pe)
                lab.sh(h, "ip route add default via 10.%d.0.1" % pe)
                lab.sh(h, "ip -6 route add default via 2001:db8:%d::1" % pe)
                lab.sh(h, "ip address add 10.%d.0.%d/24 dev up" % (pe, own))
                lab.sh(h, "ip address add 2001:db8:%d::%d/64 dev up nodad" % (pe, own))
        self.rpc = {}
        # both workers on one CPU: beside a worker the control threads of the other would starve
        for pe in (1, 2):
            _, self.rpc[pe] = lab.keeld("pe%d" % pe, config(pe, worker, control), KEELD, name="pe%d" % pe)

    def label(self, pe, vrf):
        return {v["name"]: v.get("label") for v in self.rpc[pe].call("vrf.list")["vrfs"]}[vrf]

    def labels(self, pe, vrf, address):
        paths = self.rpc[pe].call("fib.lookup", vrf=vrf, address=address)["paths"]
        return [p["labels"] for p in paths if p["state"] == "up"]

    def answers(self, host, address):
        """Number of answers to two pings; a negative answer comes after half a second."""
        out = self.lab.sh(host, "ping -n -i 0.05 -W 0.5 -c 2 %s || true" % address)
        return int(out.split(" received")[0].split(",")[-1])

    def drops(self, pe, reason):
        return worker_drops(self.rpc[pe], reason)

    def reach(self):
        c = self.c
        for vrf, host, _, own in VRFS:
            for text, net in (("IPv4", "10.%d.0.%d"), ("IPv6", "2001:db8:%d::%d")):
                for pe in (1, 2):
                    there = net % (3 - pe, 2)
                    c.comes_to("%s, %s at pe%d: the other router's label" % (vrf, text, pe), lambda: self.labels(pe, vrf, there), [[self.label(3 - pe, vrf)]])
                other = 7 - own
                c.comes_to("%s, %s: the host answers" % (vrf, text), lambda: self.answers(host + "1", net % (2, 2)), 2)
                c.comes_to("... an address of this instance alone", lambda: self.answers(host + "1", net % (2, own)), 2)
                c.equal("... an address of the other instance", self.answers(host + "1", net % (2, other)), 0)
        for pe in (1, 2):
            self.audit(pe)
            tables = {(t["vrf"], t["family"]): t["routes"] for t in self.rpc[pe].call("fib.stats")["tables"]}
            for vrf, _, _, _ in VRFS:
                c.equal("pe%d: the tables of %s alone" % (pe, vrf), {t["vrf"] for t in self.rpc[pe].call("fib.stats", vrf=vrf)["tables"]}, {vrf})
                c.true("pe%d: routes of %s" % (pe, vrf), tables[(vrf, "ipv4-unicast")] >= 3 and tables[(vrf, "ipv6-unicast")] >= 3, tables)

    def edges(self):
        """A host reaches the address of the far edge router in its instance, and the other way round."""
        for vrf, host, _, own in VRFS:
            for far in ("10.2.0.1", "2001:db8:2::1"):
                self.c.comes_to("%s1 pings %s of the far edge router" % (host, far), lambda: self.answers(host + "1", far), 2)
        out = self.lab.sh("c1", "ping -n -s 1400 -i 0.05 -W 1 -c 2 10.2.0.1 || true")
        self.c.true("... with long packets", " 0% packet loss" in out, out)

    def audit(self, pe):
        """Audits of each VRF and of all, requested at once."""
        c, rpc = self.c, self.rpc[pe]
        scopes = [{"vrf": vrf} for vrf in ("default", *(v[0] for v in VRFS))] + [{}]
        jobs = [rpc.call("fib.audit", wait=False, **scope)["job"] for scope in scopes]
        for job in jobs:
            c.comes_to("pe%d: audit %d ends" % (pe, job), lambda: rpc.call("jobs.get", id=job)["state"], "done")
        results = [rpc.call("jobs.get", id=job)["result"] for job in jobs]
        for scope, a in zip(scopes, results):
            c.equal("pe%d: the audit of %s finds no mismatch" % (pe, scope.get("vrf", "all tables")), (a["mismatch_count"], a["not_installed"]), (0, 0))
        parts = [a["checked"] for a in results[:-1]]
        c.true("... each in addresses of its own", min(parts) > 0 and max(parts) < results[-1]["checked"], results)
        c.equal("pe%d: there is no audit of an unknown instance" % pe, error_of(rpc, "fib.audit", vrf="mauve")["code"], -32004)

    def bad(self):
        """A customer can't send into another instance by its label; without a route the packet ends in its instance."""
        c = self.c
        neighbour = json.loads(self.lab.sh("c1", "ip -j neighbour show 10.1.0.1 dev up"))[0]  # pe1's port, in the namespace of the instance
        mac = bytes.fromhex(neighbour["lladdr"].replace(":", ""))

        def send():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind(("up", 0))
            packet = bytes(12)
            s.send(mac + b"\x02\0\0\0\0\x01" + b"\x88\x47" + struct.pack("!I", self.label(1, "blue") << 12 | 0x100 | 64) + b"\x45" + packet + bytes(40))
            s.close()
        before = self.drops(1, "mpls-port")
        in_netns(self.lab.netns("c1"), send)
        c.comes_to("a labelled packet of a customer is dropped", lambda: self.drops(1, "mpls-port") - before, 1)
        before = self.drops(1, "no-route")
        out = self.lab.sh("c1", "ping -n -W 2 -c 1 10.9.0.1 || true")
        c.true("no route in the instance: an ICMP error", "Unreachable" in out, out)
        c.equal("... and the drop", self.drops(1, "no-route") - before, 1)

    def lsp(self):
        """A static label-switched path, committed at run time."""
        c, rpc = self.c, self.rpc[1]
        rpc.call("config.edit", merge={"static_lsps": [{"name": "t", "destination": CORE[2] + "/32", "next_hop": CORE[2], "out_labels": [0]}]})
        rpc.call("config.commit")
        c.comes_to("explicit null above the label", lambda: self.labels(1, "red", "10.2.0.2"), [[0, self.label(2, "red")]])
        c.comes_to("... the host answers", lambda: self.answers("c1", "10.2.0.2"), 2)
        rpc.call("config.edit", merge={"static_lsps": None})
        rpc.call("config.commit")
        c.comes_to("without the path", lambda: self.labels(1, "red", "10.2.0.2"), [[self.label(2, "red")]])
        c.comes_to("... the host answers", lambda: self.answers("c1", "10.2.0.2"), 2)

    def too_big(self, what, mtu):
        """RFC 3032 3.4, 3.5: the error about a packet that is too big with its labels has the MTU without them, and a packet of exactly this size passes.
        (The kernel of the machine need not have MPLS, so the far end is the judge, and not Linux as an edge.)"""
        for host, address, head, text in (("c1", "10.2.0.2", 28, "IPv4"), ("c1", "2001:db8:2::2", 48, "IPv6")):
            self.lab.sh(host, "ip route flush cache; ip -6 route flush cache")
            out = self.lab.sh(host, "ping -n -c 1 -W 2 -M do -s %d %s 2>&1 || true" % (1500 - head, address))
            seen = re.search(r"mtu ?= ?(\d+)", out)
            self.c.equal("%s, %s: the error about 1,500 octets has the MTU" % (what, text), seen and int(seen.group(1)), mtu)
            out = self.lab.sh(host, "ping -n -i 0.05 -c 2 -W 2 -M do -s %d %s 2>&1 || true" % (mtu - head, address))
            self.c.true("... and packets of this size pass both ways", " 0% packet loss" in out, out)
            self.lab.sh(host, "ip route flush cache; ip -6 route flush cache")
            out = self.lab.sh(host, "ping -n -c 1 -W 2 -M do -s %d %s 2>&1 || true" % (mtu + 1 - head, address))
            self.c.true("... and none with an octet more", re.search(r"mtu ?= ?%d" % mtu, out), out)

    def commit(self, pe, **merge):
        self.rpc[pe].call("config.edit", merge=merge)
        self.rpc[pe].call("config.commit")

    def sizes(self):
        """The label of the instance; below an explicit null; in UDP over IPv4."""
        def udp():
            return [p.get("udp", {}).get("destination") for p in self.rpc[1].call("fib.lookup", vrf="red", address="10.2.0.2")["paths"]]

        self.too_big("a label", 1496)
        self.commit(1, static_lsps=[{"name": "t", "destination": CORE[2] + "/32", "next_hop": CORE[2], "out_labels": [0]}])
        self.c.comes_to("explicit null above the label", lambda: self.labels(1, "red", "10.2.0.2"), [[0, self.label(2, "red")]])
        self.too_big("two labels", 1492)
        self.commit(1, static_lsps=None)
        for pe in (1, 2):
            self.commit(pe, udp_tunnels=[{"name": "u", "destination": CORE[3 - pe], "source": CORE[pe]}])
        self.c.comes_to("the label travels in UDP", udp, [CORE[2]])
        self.c.comes_to("... the host answers", lambda: self.answers("c1", "10.2.0.2"), 2)
        self.too_big("a label in UDP", 1500 - 28 - 4)
        for pe in (1, 2):
            self.commit(pe, udp_tunnels=None)
        self.c.comes_to("no tunnel any more", udp, [None])

    def counted(self):
        for pe in (1, 2):
            for w in self.rpc[pe].call("dataplane.stats")["workers"]:
                bad = {r: n for r, n in w["drops"].items() if n and r.startswith("mpls-") and r != "mpls-port"}
                self.c.equal("pe%d: other drops of labelled packets" % pe, bad, {})


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        t.reach()
        t.edges()
        t.bad()
        t.lsp()
        t.sizes()
        t.counted()
        for rpc in t.rpc.values():
            rpc.close()


if __name__ == "__main__":
    need("ip", "ethtool", "ping", files=[KEELD])
    raise SystemExit(labtest.main(test))
