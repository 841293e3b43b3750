#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""VPNv4 and VPNv6 with FRR, GoBGP and OpenBGPD as internal clients of keeld, all sessions over IPv4: routes from each daemon at keeld, and reflected
at the others, with distinguishers, labels, targets and next hops unchanged; route refresh in both directions; a soft reset of VPNv4 sends no other
family, counted on the wire. VPN_ROUTES (5): routes of GoBGP in each family; from 20 on
also the slow answers of GoBGP to a refresh.

    f (FRR) --- rt (keeld, route reflector) --- g (GoBGP)
                         |
                         o (OpenBGPD)
"""
import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from daemons import Frr, GoBgp, OpenBgpd, Session, Setup
from labtest import KEELCTL, KEELD, ROUTE_REFRESH, UPDATE, V4, Capture, Lab, need, out_folder, run, wait_established, wait_for, wait_job

NAME = "vpn_families"
US, ROUTES = 64512, int(os.environ.get("VPN_ROUTES", 5))
VPNV4, VPNV6 = "vpnv4-unicast", "vpnv6-unicast"
FAMILIES = (VPNV4, VPNV6)
HOSTS = {"f": 1, "g": 2, "o": 3}
RD1, RD2 = "64512:1", "192.0.2.9:2"


def at(host):
    return "198.18.%d.2" % HOSTS[host]


def ours(host):
    return "198.18.%d.1" % HOSTS[host]


def at6(host):
    return "2001:db8:f%03x::2" % HOSTS[host]


def ours6(host):
    return "2001:db8:f%03x::1" % HOSTS[host]


def prefix(family, group, n):
    return "10.%d.%d.0/24" % (group, n) if family == VPNV4 else "2001:db8:%x%02x::/48" % (group, n)


# {family: {(rd, prefix): (label, target)}}; the same prefixes with two distinguishers
FRR_ROUTES = {f: {(rd, prefix(f, 1, n)): (label + n, "64512:%d" % (7 + i)) for n in range(2) for i, (rd, label) in enumerate(((RD1, 100), (RD2, 200)))}
              for f in FAMILIES}
GOBGP_ROUTES = {f: {(RD1, prefix(f, 1 if n == 0 else 2, 5 + n)): (1000 + n, "64512:7") for n in range(ROUTES)} for f in FAMILIES}


FRR_WORDS, GOBGP_WORDS = {VPNV4: "ipv4 vpn", VPNV6: "ipv6 vpn"}, {VPNV4: "vpnv4", VPNV6: "vpnv6"}


# routes_of(): {(rd, prefix): (label, targets, next hop)} of the routes from keeld; OpenBGPD shows no labels. Several targets are one text, in order.

def targets(values):
    return " ".join(sorted(values))


class VpnFrr(Frr):
    def config(self):
        s = self.setup
        out = ["log stdout", "bgp route-map delay-timer 0"]
        for i in (7, 8):
            out += ["route-map rt%d permit 10" % i, " set extcommunity rt 64512:%d" % i, "exit"]
        out += ["route-map none deny 10", "exit"]
        out += ["router bgp %d" % s.asn, " bgp router-id " + s.router_id, " no bgp default ipv4-unicast", " no bgp network import-check"]
        for x in s.sessions:
            n = " neighbor %s " % x.remote
            out += [n + "remote-as %d" % x.asn, n + "timers 30 90", n + "timers connect 1", n + "update-source " + x.local]
        for family, name in FRR_WORDS.items():
            out.append(" address-family " + name)
            out += ["  neighbor %s activate" % x.remote for x in s.sessions]
            out += ["  network %s rd %s label %d route-map rt%s" % (p, rd, label, rt.split(":")[1])
                    for (rd, p), (label, rt) in FRR_ROUTES[family].items()]
            out.append(" exit-address-family")
        out += [" address-family ipv4 unicast", *("  neighbor %s activate" % x.remote for x in s.sessions), "  network 10.99.0.0/24",
                " exit-address-family"]
        return "\n".join(out) + "\n"

    def routes_of(self, family):
        name, out = FRR_WORDS[family], {}
        table = json.loads(self.vty("show bgp %s json" % name))["routes"].get("routeDistinguishers", {})
        for rd, prefixes in table.items():
            for p in prefixes:
                for path in json.loads(self.vty("show bgp %s rd %s %s json" % (name, rd, p))).get(rd, {}).get("paths", []):
                    if path["peer"].get("peerId") == self.setup.sessions[0].remote:
                        out[(rd, p)] = (path["remoteLabel"], targets(path.get("extendedCommunity", {"string": ""})["string"].replace("RT:", "").split()), path["nexthops"][0]["ip"])
        return out

    def vpn(self, family, line):
        self.vty("configure terminal", "router bgp %d" % US, "address-family " + FRR_WORDS[family], line, "end")

    def remove(self, family, rd, p, label):
        line = "network %s rd %s label %d" % (p, rd, label)
        try:
            self.vpn(family, "no " + line)
        except RuntimeError as e:  # FRR 10.3 does so for each VPN route that it has
            if "Can't find static route specified" not in str(e):
                raise
            self.vpn(family, line + " route-map none")

    def ask(self, family):
        self.vty("clear bgp %s %s soft in" % (FRR_WORDS[family], self.setup.sessions[0].remote))


class VpnGoBgp(GoBgp):
    def config(self):
        return super().config().replace("vpnv4-unicast", "l3vpn-ipv4-unicast").replace("vpnv6-unicast", "l3vpn-ipv6-unicast")

    def own_after_start(self):
        for family, routes in GOBGP_ROUTES.items():
            for (rd, p), (label, rt) in routes.items():
                self.add(family, rd, p, label, rt)

    def add(self, family, rd, p, label, rt, word="add"):
        self.gobgp("global", "rib", word, "-a", GOBGP_WORDS[family], p, "label", str(label), "rd", rd, "rt", *rt.split(),
                   *(["nexthop", at6("g")] if family == VPNV6 else []))

    def routes_of(self, family):
        text, out = self.gobgp("-j", "neighbor", self.setup.sessions[0].remote, "adj-in", "-a", GOBGP_WORDS[family]), {}
        for paths in (json.loads(text) if text.strip().startswith("{") else {}).values():
            nlri, attrs = paths[0]["nlri"], {a["type"]: a for a in paths[0]["attrs"]}
            out[("%s:%s" % (nlri["rd"]["admin"], nlri["rd"]["assigned"]), nlri["prefix"])] = (
                nlri["labels"][0], targets(c["value"] for c in attrs[16]["value"]) if 16 in attrs else "", attrs[14]["nexthop"])
        return out

    def ask(self, family):
        self.gobgp("neighbor", self.setup.sessions[0].remote, "softresetin", "-a", GOBGP_WORDS[family])


class VpnOpenBgpd(OpenBgpd):
    def config(self):
        s = self.setup
        out = ["AS %d" % s.asn, "router-id %s" % s.router_id, 'socket "%s"' % self.socket, "fib-update no", "nexthop qualify via default", "connect-retry 1"]
        for x in s.sessions:
            out += ["listen on " + x.local, "neighbor %s {" % x.remote, "\tremote-as %d" % x.asn, "\tholdtime 90", "\tannounce enhanced refresh yes",
                    "\tannounce IPv4 none", "\tannounce IPv6 none", "\tannounce IPv4 vpn", "\tannounce IPv6 vpn", "\tlocal-address " + x.local, "}"]
        return "\n".join(out + ["allow from any", "allow to any"]) + "\n"

    def routes_of(self, family):
        return dict(self.entries(family))

    def entries(self, family):
        """OpenBGPD 7.7 keeps withdrawn VPN routes, also those of GoBGP, and a route twice whose label changed (docs/interop.md)."""
        out = []
        for r in json.loads(self.bgpctl("-j", "show", "rib", GOBGP_WORDS[family], "in", "detail")).get("rib", []):
            _, rd, p = r["prefix"].split()
            out.append(((rd, p), (None, targets(c.split()[1] for c in r.get("extended_communities", ())), r["exit_nexthop"])))
        return out

    def ask(self, family):
        """OpenBGPD asks for all families of the session."""
        self.bgpctl("neighbor", self.setup.sessions[0].remote, "refresh")


DAEMONS = {"f": VpnFrr, "g": VpnGoBgp, "o": VpnOpenBgpd}


def document():
    families = {f: {"import_policy": "accept-all", "export_policy": "accept-all"} for f in (*FAMILIES, V4)}
    return {"router": {"asn": US, "router_id": "198.18.0.1"},
            "bgp": {"networks": [{"prefix": "203.0.113.0/24"}],
                    "peers": [{"address": at(h), "asn": US, "passive": True, "route_reflector_client": True, "families": families} for h in HOSTS]}}


def build(lab):
    """The lab with established sessions: the connection to keeld, and the daemons."""
    lab.host("rt", ipv6=True)
    for h in HOSTS:
        lab.host(h, ipv6=True)
        lab.link(h, "e0", [at(h) + "/24", at6(h) + "/64"], "rt", "p" + h, [ours(h) + "/24", ours6(h) + "/64"])
        lab.sh(h, "ip route add 198.18.0.0/16 via %s; ip -6 route add 2001:db8:f000::/36 via %s" % (ours(h), ours6(h)))
    _, rpc = lab.keeld("rt", document(), KEELD, args=["--no-dataplane"])
    daemons = {h: DAEMONS[h](lab, h) for h in HOSTS}
    threads = [threading.Thread(target=d.start, args=(Setup(US, at(h), [Session("keel", at(h), ours(h), US, FAMILIES)]),)) for h, d in daemons.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_established(rpc, *(at(h) for h in HOSTS))
    return rpc, daemons


def test(c):
    out = out_folder(NAME)
    with Lab(out) as lab:
        world = World(c, lab, *build(lab), out)
        for step in (world.from_them, world.to_them, world.refresh_by_us, world.refresh_by_them, world.soft_resets, world.withdrawals):
            step()


class World:
    def __init__(self, c, lab, rpc, daemons, out):
        self.c, self.lab, self.rpc, self.daemons, self.out, self.captures = c, lab, rpc, daemons, out, 0

    def family(self, host, family):
        return labtest.peer(self.rpc, at(host))["families"][family]

    def capture(self, host):
        self.captures += 1
        return Capture(self.lab.netns("rt"), "p" + host, os.path.join(self.out, "%s%d.pcap" % (host, self.captures)))

    @staticmethod
    def sent(host, family):
        """The routes of a daemon: {(rd, prefix): (label, target, next hop)}."""
        routes = {"f": FRR_ROUTES, "g": GOBGP_ROUTES, "o": {VPNV4: {}, VPNV6: {}}}[host][family]
        return {k: (label, rt, at(host) if family == VPNV4 else at6(host)) for k, (label, rt) in routes.items()}

    def kept(self, host, family):
        found, page = {}, {}
        while page is not None:
            answer = self.rpc.call("rib.routes", family=family, view="adj-in", peer=at(host), limit=1000, **page)
            found.update({(r["rd"], r["prefix"]): (r["labels"][0], targets(e[3:] for e in r["ext_communities"]), r["next_hop"]) for r in answer["routes"]})
            page = {"cursor": answer["next"]} if "next" in answer else None
        return found

    def from_them(self):
        for h in HOSTS:
            for f in FAMILIES:
                self.c.comes_to("%s of %s at keeld, with distinguishers, labels and targets" % (f, h), lambda: self.kept(h, f), self.sent(h, f))

    def others(self, host, family):
        return {k: v for h in HOSTS if h != host for k, v in self.sent(h, family).items()}

    def to_them(self):
        for h, d in self.daemons.items():
            for f in FAMILIES:
                want = self.others(h, f)
                if h == "o":
                    want = {k: (None, rt, hop) for k, (_, rt, hop) in want.items()}
                self.c.comes_to("%s reflected to %s, unchanged" % (f, d.name), lambda: d.routes_of(f), want)

    def refreshes(self, host, what):
        return {f: self.family(host, f)["refresh"][what] for f in (*FAMILIES, V4)}

    def refresh_by_us(self):
        """One ROUTE-REFRESH for the named family, an answer, and unchanged routes. OpenBGPD 7.7 answers none: `AID IPv4 vpn not negotiated`. GoBGP
        sends no End-of-RIB, so the answer ends after 3 s of silence."""
        for h, f in [("f", VPNV4), ("f", VPNV6)] + ([("g", VPNV4), ("g", VPNV6)] if ROUTES >= 20 else []):
            d = self.daemons[h]
            before, wire = self.refreshes(h, "requests_sent"), self.capture(h)
            r = self.rpc.call("bgp.refresh", family=f, scope="peer", peer=at(h), direction="import")
            self.c.equal("refresh of %s, %s" % (d.name, f), [p["action"] for p in r["peers"]], ["route-refresh-sent"])
            self.c.equal("... ends", wait_job(self.rpc, r["job"])["state"], "done")
            asked = [m for s, m in wire.stop().bgp() if s == ours(h) and int(m["bgp.type"]) == ROUTE_REFRESH]
            self.c.equal("... by one message", [self.family_of(m) for m in asked], [f])
            self.c.equal("... counted", {g: n - before[g] for g, n in self.refreshes(h, "requests_sent").items()}, {g: int(g == f) for g in before})
            self.c.equal("... with the same routes", self.kept(h, f), self.sent(h, f))

    @staticmethod
    def family_of(message):
        """The family of a ROUTE-REFRESH in tshark's form."""
        text = json.dumps(message)
        afi, safi = (int(re.search(r'"bgp\.route_refresh\.%s": "(\d+)"' % k, text).group(1)) for k in ("afi", "safi"))
        return {(1, 128): VPNV4, (2, 128): VPNV6, (1, 1): V4}.get((afi, safi))

    def refresh_by_them(self):
        """GoBGP has no command that sends a ROUTE-REFRESH (docs/interop.md)."""
        for h, families in (("f", FAMILIES), ("o", FAMILIES[:1])):  # OpenBGPD asks for all families at once
            for f in families:
                before, d = self.refreshes(h, "served"), self.daemons[h]
                d.ask(f)
                self.c.comes_to("%s asks for %s, and is answered" % (d.name, f), lambda: self.refreshes(h, "served")[f] > before[f], True)
        self.to_them()

    def soft_resets(self):
        """The export of VPNv4 to FRR, by keelctl: prefixes of no other family on the wire."""
        count = labtest.peer(self.rpc, at("f"))["established_count"]
        for word, f, key in (("vpnv4", VPNV4, "1 128"), ("vpnv6", VPNV6, "2 128")):
            wire, before = self.capture("f"), self.refreshes("f", "eorr_sent")
            run(KEELCTL, "--socket", os.path.join(self.lab.dir, "keeld.sock"), "refresh", "bgp", word, at("f"), "export")
            wait_for("EoRR of " + f, lambda: self.refreshes("f", "eorr_sent")[f] > before[f], 20)
            # FRR's answer to a later request shows that the messages before have arrived
            wait_job(self.rpc, self.rpc.call("bgp.refresh", family=V4, scope="peer", peer=at("f"), direction="import")["job"])
            self.c.equal("soft reset of %s: prefixes of this family alone" % word, self.announced(wire.stop()), {key: ROUTES})
        self.c.equal("... and the session stays", labtest.peer(self.rpc, at("f"))["established_count"], count)

    @staticmethod
    def announced(wire):
        """{"AFI SAFI": prefixes} announced by keeld to FRR, counted by tshark."""
        found = {}
        for source, m in wire.bgp():
            if source != ours("f") or int(m["bgp.type"]) != UPDATE:
                continue
            body, part = json.dumps(m), r'"bgp\.update\.path_attribute\.mp_reach_nlri\.%s": "(\d+)"'
            key = " ".join(re.search(part % k, body).group(1) for k in ("afi", "safi")) if "mp_reach_nlri.afi" in body else "1 1"
            # a label for each VPN route
            found[key] = found.get(key, 0) + len(re.findall(r"\(bottom\)" if key.endswith("128") else r'"bgp\.(prefix_length|nlri_prefix)"', body))
        return {k: n for k, n in found.items() if n > 0}

    def withdrawals(self):
        d = self.daemons["f"]
        for f in FAMILIES:
            (rd, p), (label, rt, hop) = sorted(self.sent("f", f).items())[0]
            d.remove(f, rd, p, label)
            self.c.comes_to("%s withdraws a %s route of one distinguisher" % (d.name, f), lambda: (rd, p) in self.kept("f", f), False)
            self.c.comes_to("... GoBGP, too", lambda: (rd, p) in self.daemons["g"].routes_of(f), False)
            self.c.equal("the prefix stays with the other distinguisher", sorted(k[0] for k in self.kept("f", f) if k[1] == p), sorted({RD1, RD2} - {rd}))


if __name__ == "__main__":
    need("tshark", "ip", "ethtool", *[p for d in DAEMONS.values() for p in d.programs], files=[KEELD])
    raise SystemExit(labtest.main(test))
