#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Route target constraint (RFC 4684) with GoBGP, both ways: keeld sends the import targets of its instances, and GoBGP sends only VPN routes with these
targets; keeld sends GoBGP only routes with the targets of GoBGP's VRFs. Changes at run time of an instance's import targets, and of a VRF of GoBGP.

    pe (keeld, 64512) --- g (GoBGP, 64512)
"""
import test_vpn_families as vpn
import labtest
from daemons import Session, Setup
from labtest import KEELD, Lab, need, out_folder, wait_established
from test_vpn_families import GOBGP_WORDS, VPNV4, VPNV6, at, ours

NAME = "rt_constraint"
US = 64512
MINE = {"10.77.%d.0/24" % i: "64512:%d" % i for i in (7, 8)}  # networks of the instances of keeld, by target
THEIRS = {"10.88.%d.0/24" % i: "64512:%d" % i for i in (7, 8, 9)}


class GoBgp(vpn.VpnGoBgp):
    def config(self):
        return super().config().replace("rt-constraint", "rtc")

    def own_after_start(self):
        for p, rt in THEIRS.items():
            self.gobgp("global", "rib", "add", "-a", GOBGP_WORDS[VPNV4], p, "label", "100", "rd", "64512:99", "rt", rt)
        self.vrf("blue", 7)

    def vrf(self, name, n):
        self.gobgp("vrf", "add", name, "rd", "64512:%d" % (100 + n), "rt", "both", "64512:%d" % n)

    def received(self):
        return {p for _, p in self.routes_of(VPNV4)}


def vrf(name, n, *targets):
    return {"name": name, "rd": "64512:%d" % n, "import_targets": ["64512:%d" % t for t in targets], "export_targets": ["64512:%d" % n]}


def document():
    return {"router": {"asn": US, "router_id": "198.18.0.1"}, "vrfs": [vrf("seven", 7, 7), vrf("eight", 8)],
            "bgp": {"networks": [{"prefix": p, "vrf": v} for p, v in zip(MINE, ("seven", "eight"))],
                    "peers": [{"address": at("g"), "asn": US, "passive": True, "families": {VPNV4: {"keep_all_routes": True}, VPNV6: {}, "rt-constraint": {}}}]}}


def test(c):
    with Lab(out_folder(NAME)) as lab:
        lab.host("rt", ipv6=True)
        lab.host("g", ipv6=True)
        lab.link("g", "e0", [at("g") + "/24"], "rt", "pg", [ours("g") + "/24"])
        _, rpc = lab.keeld("rt", document(), KEELD, args=["--no-dataplane"])
        g = GoBgp(lab, "g")
        g.start(Setup(US, at("g"), [Session("keel", at("g"), ours("g"), US, (VPNV4, VPNV6, "rt-constraint"))]))
        wait_established(rpc, at("g"))

        def got():
            return {r["prefix"] for r in rpc.call("rib.routes", family=VPNV4, view="adj-in", peer=at("g"))["routes"]}

        def targets(*numbers):
            rpc.call("config.edit", merge={"vrfs": [vrf("seven", 7, *numbers), vrf("eight", 8)]})
            rpc.call("config.commit")
        c.comes_to("GoBGP sends routes with our target alone", got, {"10.88.7.0/24"})
        c.comes_to("keeld sends routes with GoBGP's target alone", g.received, {"10.77.7.0/24"})
        targets(7, 9)
        c.comes_to("a new import target: its route comes", got, {"10.88.7.0/24", "10.88.9.0/24"})
        targets(9)
        c.comes_to("without a target: its route goes", got, {"10.88.9.0/24"})
        g.vrf("green", 8)
        c.comes_to("a new VRF of GoBGP: its route is sent", g.received, set(MINE))
        g.gobgp("vrf", "del", "blue")
        c.comes_to("without a VRF: its route is withdrawn", g.received, {"10.77.8.0/24"})
        c.equal("one session", labtest.peer(rpc, at("g"))["established_count"], 1)
        rpc.close()


if __name__ == "__main__":
    need("ip", *GoBgp.programs, files=[KEELD])
    raise SystemExit(labtest.main(test))
