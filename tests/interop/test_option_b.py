#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Option B of RFC 4364 10 with FRR and GoBGP as external peers of keeld: each daemon receives the VPN routes of the other one with our next hop and a label of
ours, one for each pair of next hop and label, and the withdrawals.

    f (FRR, 64513) --- rt (keeld, 64512) --- g (GoBGP, 64514)
"""
import ipaddress
import threading

import test_vpn_families as vpn
import labtest
from daemons import Session, Setup
from labtest import KEELD, Lab, need, out_folder, wait_established
from test_vpn_families import FAMILIES, VPNV4, at, at6, ours, ours6

NAME = "option_b_interop"
US, ASN = 64512, {"f": 64513, "g": 64514}


class ExternalFrr(vpn.VpnFrr):
    def config(self):
        return super().config().replace("router bgp 64513\n", "router bgp 64513\n no bgp ebgp-requires-policy\n")


DAEMONS = {"f": ExternalFrr, "g": vpn.VpnGoBgp}


def plain(hop):
    """RFC 4659 3.2.1.2: an IPv4 next hop in IPv6 form."""
    a = ipaddress.ip_address(hop)
    return str(getattr(a, "ipv4_mapped", None) or a)


def document():
    families = {f: {"import_policy": "accept-all", "export_policy": "accept-all"} for f in FAMILIES}
    return {"router": {"asn": US, "router_id": "198.18.0.1"},
            "bgp": {"peers": [{"address": at(h), "asn": ASN[h], "passive": True, "multihop": 2, "families": families} for h in ASN]}}


def test(c):
    with Lab(out_folder(NAME)) as lab:
        lab.host("rt", ipv6=True)
        for h in ASN:
            lab.host(h, ipv6=True)
            lab.link(h, "e0", [at(h) + "/24", at6(h) + "/64"], "rt", "p" + h, [ours(h) + "/24", ours6(h) + "/64"])
        _, rpc = lab.keeld("rt", document(), KEELD, args=["--no-dataplane"])
        daemons = {h: DAEMONS[h](lab, h) for h in ASN}
        threads = [threading.Thread(target=d.start, args=(Setup(ASN[h], at(h), [Session("keel", at(h), ours(h), US, FAMILIES)]),))
                   for h, d in daemons.items()]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wait_established(rpc, *(at(h) for h in ASN))
        for h, d in daemons.items():
            sent = {"f": vpn.GOBGP_ROUTES, "g": vpn.FRR_ROUTES}[h]
            for f in FAMILIES:
                want = {k: rt for k, (_, rt) in sent[f].items()}
                c.comes_to("%s: routes at %s" % (f, d.name), lambda: {k: rt for k, (_, rt, _) in d.routes_of(f).items()}, want)
                got = d.routes_of(f)
                c.true("... our next hop", {plain(hop) for _, _, hop in got.values()} == {ours(h)}, got)
                pairs = {(sent[f][k][0], label) for k, (label, _, _) in got.items()}
                c.true("... labels of ours, one for each label of the edge",
                       len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) and all(262144 <= b < 524288 for _, b in pairs), pairs)
        daemons["g"].gobgp("global", "rib", "del", "-a", "vpnv4", "all")
        c.comes_to("withdrawn at FRR", lambda: daemons["f"].routes_of(VPNV4), {})
        rpc.close()


if __name__ == "__main__":
    need("ip", *(p for d in DAEMONS.values() for p in d.programs), files=[KEELD])
    raise SystemExit(labtest.main(test))
