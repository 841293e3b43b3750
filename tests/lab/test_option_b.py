#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Option B of RFC 4364 10: an AS boundary router without instances gives VPN routes of two autonomous systems its own next hop and labels, and its worker
swaps these labels. Hosts of two instances with equal addresses reach their own instance alone, IPv4 and IPv6; withdrawn labels stay until they have rested.

    c1, d1 --- pe1 (64512) === asbr (64513) === pe2 (64514) --- c2, d2        red: c1, c2; blue: d1, d2; all routers are keeld
"""
import labtest
from labtest import KEELD, Lab, need, out_folder
from lab import cpus_of_lab

NAME = "option_b"
NET = "198.18.%d.%d"  # of the link between asbr (.9) and pe N (.N)
VRFS = (("red", "c", "64512:1", 3), ("blue", "d", "64512:2", 4))  # name, hosts, RD and target, last octet of an address that no other instance has
VPN = ("vpnv4-unicast", "vpnv6-unicast")
OPEN = {"import_policy": "accept-all", "export_policy": "accept-all"}


def peer(address, asn, passive):
    return {"address": address, "asn": asn, "passive": passive, "timers": {"connect_retry_s": 1, "idle_hold_s": 1}, "families": {f: OPEN for f in VPN}}


def base(asn, router_id, worker, control):
    return {"router": {"asn": asn, "router_id": router_id}, "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512}}


def port(name, address, **more):
    return dict({"name": name, "device": "net_af_xdp_%s,iface=%s" % (name, name), "addresses": [address]}, **more)


def pe_config(pe, cpus):
    return dict(base(64510 + 2 * pe, NET % (pe, pe), *cpus), **{
        "vrfs": [{"name": vrf, "rd": target, "import_targets": [target], "export_targets": [target]} for vrf, _, target, _ in VRFS],
        "ports": [port("core", NET % (pe, pe) + "/24", mpls=True)] +
                 [dict(port(vrf, "10.%d.0.1/24" % pe, vrf=vrf), addresses=["10.%d.0.1/24" % pe, "2001:db8:%d::1/64" % pe]) for vrf, _, _, _ in VRFS],
        "bgp": {"networks": [{"prefix": p, "vrf": vrf} for vrf, _, _, _ in VRFS for p in ("10.%d.0.0/24" % pe, "2001:db8:%d::/64" % pe)],
                "peers": [peer(NET % (pe, 9), 64513, True)]}})


def asbr_config(cpus):
    return dict(base(64513, "198.18.9.9", *cpus), **{
        "ports": [port("pe%d" % pe, NET % (pe, 9) + "/24", mpls=True) for pe in (1, 2)],
        "bgp": {"peers": [peer(NET % (pe, pe), 64510 + 2 * pe, False) for pe in (1, 2)]}})


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab, self.rpc = checks, lab, {}

    def build(self):
        lab, cpus = self.lab, cpus_of_lab()
        for h in ("pe1", "pe2", "asbr", "c1", "c2", "d1", "d2"):
            lab.host(h, ipv6=True)
        for pe in (1, 2):
            lab.link("pe%d" % pe, "core", None, "asbr", "pe%d" % pe, None)
        for vrf, host, _, own in VRFS:
            for pe in (1, 2):
                h = "%s%d" % (host, pe)
                lab.link(h, "up", "10.%d.0.2/24" % pe, "pe%d" % pe, vrf, None)
                lab.sh(h, "ip address add 2001:db8:%d::2/64 dev up nodad; ip address add 10.%d.0.%d/24 dev up" % (pe, pe, own))
                lab.sh(h, "ip address add 2001:db8:%d::%d/64 dev up nodad; ip route add default via 10.%d.0.1" % (pe, own, pe))
                lab.sh(h, "ip -6 route add default via 2001:db8:%d::1" % pe)
        # all workers on one CPU: beside a worker the control threads of the others would starve
        for pe in (1, 2):
            _, self.rpc["pe%d" % pe] = lab.keeld("pe%d" % pe, pe_config(pe, cpus), KEELD, name="pe%d" % pe)
        _, self.rpc["asbr"] = lab.keeld("asbr", asbr_config(cpus), KEELD, name="asbr")

    def labels(self, pe, vrf, address):
        paths = self.rpc["pe%d" % pe].call("fib.lookup", vrf=vrf, address=address)["paths"]
        return [p["labels"] for p in paths if p["state"] == "up"]

    def advertised(self, pe, family):
        """{(rd, prefix): label} that the boundary router sends to a router."""
        routes = self.rpc["asbr"].call("rib.routes", family=family, view="adj-out", peer=NET % (pe, pe))["routes"]
        return {(r["rd"], r["prefix"]): r["labels"][0] for r in routes}

    def own_label(self, pe, vrf):
        return {v["name"]: v.get("label") for v in self.rpc["pe%d" % pe].call("vrf.list")["vrfs"]}[vrf]

    def answers(self, host, address):
        """Number of answers to two pings; a negative answer comes after half a second."""
        out = self.lab.sh(host, "ping -n -i 0.05 -W 0.5 -c 2 %s || true" % address)
        return int(out.split(" received")[0].split(",")[-1])

    def reach(self):
        c = self.c
        for vrf, host, rd, own in VRFS:
            for family, there, net in ((VPN[0], "10.%d.0.0/24", "10.%d.0.%d"), (VPN[1], "2001:db8:%d::/64", "2001:db8:%d::%d")):
                for pe in (1, 2):
                    key = (rd, there % (3 - pe))
                    c.comes_to("%s, %s: pe%d gets a label" % (vrf, family, pe), lambda: key in self.advertised(pe, family), True)
                    label = self.advertised(pe, family)[key]
                    c.true("... of the boundary router", 262144 <= label < 524288 and label != self.own_label(3 - pe, vrf), label)
                    c.comes_to("... pushes it", lambda: self.labels(pe, vrf, net % (3 - pe, 2)), [[label]])
                c.comes_to("%s, %s: an address of this instance alone answers" % (vrf, family), lambda: self.answers(host + "1", net % (2, own)), 2)
                if vrf == "red":
                    c.equal("... an address of the other instance", self.answers(host + "1", net % (2, 7 - own)), 0)
        # one label for each label of the edge: both families and all prefixes of an instance share it
        for pe in (1, 2):
            labels = {f: self.advertised(pe, f) for f in VPN}
            c.equal("labels towards pe%d: one for each instance" % pe,
                    {vrf: len({label for f in VPN for (rd, _), label in labels[f].items() if rd == target}) for vrf, _, target, _ in VRFS},
                    {vrf: 1 for vrf, _, _, _ in VRFS})

    def withdrawn(self):
        """A withdrawn network loses its route; the label, still used by the other family, forwards on."""
        c, rpc = self.c, self.rpc["pe2"]
        networks = [n for n in rpc.call("config.get")["document"]["bgp"]["networks"] if n["prefix"] != "10.2.0.0/24"]
        rpc.call("config.edit", merge={"bgp": {"networks": networks}})
        rpc.call("config.commit")
        c.comes_to("without the route", lambda: self.labels(1, "red", "10.2.0.2"), [])
        c.comes_to("... the other family is reachable", lambda: self.answers("c1", "2001:db8:2::2"), 2)

    def counted(self):
        for name, rpc in self.rpc.items():
            for w in rpc.call("dataplane.stats")["workers"]:
                self.c.equal("%s: drops of labelled packets" % name, {r: n for r, n in w["drops"].items() if n and r.startswith("mpls-")}, {})
        self.c.equal("the boundary router: audit", self.rpc["asbr"].call("fib.audit")["mismatches"], [])


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        t.reach()
        t.withdrawn()
        t.counted()
        for rpc in t.rpc.values():
            rpc.close()


if __name__ == "__main__":
    need("ip", "ethtool", "ping", files=[KEELD])
    raise SystemExit(labtest.main(test))
