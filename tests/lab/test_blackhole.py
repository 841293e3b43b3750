#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Remotely triggered blackholes (RFC 5635), with a data plane, IPv4 and IPv6: a customer marks a host with a community, and the import policy sets the
next hop to `discard`, or to an address that a static route sends into a blackhole; an internal peer announces this address directly. The path is best and
advertised, the workers count the packets under `blackhole`, the tables and the audit agree, and a withdrawal ends it.

    cust (AS 64601) --- rt (keeld, AS 64512) --- core (AS 64512)
"""
import labtest
from labtest import KEELD, UPDATE, V4, V6, Lab, Speaker, need, out_folder, wait_for, wait_job
from lab import cpus_of_lab, worker_drops
from wire import announce, withdraw

NAME = "blackhole"
CUST, RT_CUST, CORE, RT_CORE = "198.18.1.2", "198.18.1.1", "198.18.2.2", "198.18.2.1"
CUST6, RT_CUST6, CORE6, RT_CORE6 = "2001:db8:1::2", "2001:db8:1::1", "2001:db8:2::2", "2001:db8:2::1"
SINK, SINK6 = "192.0.2.66", "2001:db8:66::1"
DISCARD, BY_ADDRESS = "64512:666", "64512:667"
NET, NET6 = "203.0.113.0/24", "2001:db8:113::/48"


def host(n, v6=False):
    return "2001:db8:113::%d" % n if v6 else "203.0.113.%d" % n


def prefix(n, v6=False):
    return host(n, v6) + ("/128" if v6 else "/32")


def node(seq, match, **sets):
    return {"seq": seq, "action": "permit", "match": match, "set": sets}


def config(worker, control):
    def families(policy):
        return {f: {"import_policy": policy, "export_policy": "accept-all"} for f in (V4, V6)}

    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": a} for n, a in
                  (("pcust", [RT_CUST + "/24", RT_CUST6 + "/64"]), ("pcore", [RT_CORE + "/24", RT_CORE6 + "/64"]))],
        "static_routes": [{"prefix": SINK + "/32", "blackhole": True}, {"prefix": SINK6 + "/128", "blackhole": True}],
        "community_lists": [{"name": n, "entries": [{"action": "permit", "community": c}]} for n, c in (("rtbh", DISCARD), ("rtbh-address", BY_ADDRESS))],
        "route_policies": [{"name": "from-cust", "nodes": [
            node(10, {"community_list": "rtbh"}, next_hop="discard", local_pref=200),
            node(20, {"community_list": "rtbh-address", "family": V4}, next_hop=SINK),
            node(30, {"community_list": "rtbh-address", "family": V6}, next_hop=SINK6),
            node(40, {})]}],
        "bgp": {"peers": [{"address": CUST, "asn": 64601, "passive": True, "families": {f: dict(x, keep_all_routes=True) for f, x in families("from-cust").items()}},
                          {"address": CORE, "asn": 64512, "passive": True, "families": families("accept-all")}]},
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        worker, control = cpus_of_lab()
        for h in ("rt", "cust", "core"):
            lab.host(h, ipv6=True)
        lab.link("cust", "up", CUST + "/24", "rt", "pcust", None)
        lab.link("core", "up", CORE + "/24", "rt", "pcore", None)
        for h, address, gateway, gateway6 in (("cust", CUST6, RT_CUST, RT_CUST6), ("core", CORE6, RT_CORE, RT_CORE6)):
            lab.sh(h, "ip address add %s/64 dev up nodad" % address)
            lab.sh(h, "ip route add default via %s" % gateway)
            lab.sh(h, "ip -6 route add default via %s" % gateway6)
        lab.sh("cust", "ip address add %s dev lo" % NET)
        for n in (1, 66, 67, 88):
            lab.sh("cust", "ip address add %s dev lo" % prefix(n))
            lab.sh("cust", "ip address add %s dev lo nodad" % prefix(n, True))
        self.keeld, self.rpc = lab.keeld("rt", config(worker, control), KEELD)
        self.cust = Speaker(lab.netns("cust"), CUST, RT_CUST, 64601, families=(V4, V6)).up()
        self.core = Speaker(lab.netns("core"), CORE, RT_CORE, 64512, families=(V4, V6)).up()

    def announce(self, speaker, what, hop, **route):
        speaker.send(UPDATE, announce(dict({"as_path": "64601"} if speaker is self.cust else {"local_pref": 100}, **route), what, hop))

    def lookup(self, n, v6=False):
        r = self.rpc.call("fib.lookup", address=host(n, v6))
        return r["prefix"], r.get("kind")

    def dropped(self):
        return worker_drops(self.rpc, "blackhole")

    def answers(self, n, v6=False):
        """Number of answers to three pings from the core."""
        out = self.lab.sh("core", "ping -n -i 0.2 -W 1 -c 3 %s || true" % host(n, v6))
        return int(out.split(" received")[0].split(",")[-1])

    def swallowed(self, what, n, v6):
        before = self.dropped()
        self.c.equal("%s: no ping is answered" % what, self.answers(n, v6), 0)
        self.c.equal("... the workers dropped them under `blackhole`", self.dropped() - before, 3)

    def loc(self, n, v6):
        r = self.rpc.call("rib.routes", family=V6 if v6 else V4, view="loc", prefix=prefix(n, v6))["routes"]
        return [(x["best"], x["valid"], x["next_hop"]) for x in r]

    def audit(self, what):
        self.c.equal("%s: the audit finds no mismatch" % what, self.rpc.call("fib.audit")["mismatch_count"], 0)

    def family(self, v6):
        c, net, text = self.c, NET6 if v6 else NET, "IPv6" if v6 else "IPv4"
        cust_hop, core_hop, sink = (CUST6, CORE6, SINK6) if v6 else (CUST, CORE, SINK)
        self.announce(self.cust, net, cust_hop)
        c.comes_to("%s: the customer's network" % text, lambda: self.lookup(66, v6), (net, "forward"))
        c.comes_to("... answers pings", lambda: self.answers(66, v6), 3)
        own = wait_for("the network at the core", lambda: self.core.rib.get(net), 20)["next_hop"]

        for n, community, hop in ((66, DISCARD, "discard"), (67, BY_ADDRESS, sink)):
            self.announce(self.cust, prefix(n, v6), cust_hop, communities=[community])
            c.comes_to("%s, external, %s: in the tables" % (text, hop), lambda: self.lookup(n, v6), (prefix(n, v6), "blackhole"))
            c.equal("... best and valid", self.loc(n, v6), [(True, True, hop)])
            c.comes_to("... advertised to the core", lambda: prefix(n, v6) in self.core.rib, True)
            self.swallowed("...", n, v6)
        # an internal session keeps the next hop; `discard` is no address, so the router sends its own address, to which packets can be sent
        c.equal("... next hop towards the core: the address", self.core.rib[prefix(67, v6)]["next_hop"], sink)
        c.true("... or the router itself", self.core.rib[prefix(66, v6)]["next_hop"] in ((RT_CORE6,) if v6 else (RT_CORE,)), self.core.rib[prefix(66, v6)])
        c.true("(the customer's network has another)", own == cust_hop, own)
        self.announce(self.core, prefix(88, v6), sink)
        c.comes_to("%s, internal: in the tables" % text, lambda: self.lookup(88, v6), (prefix(88, v6), "blackhole"))
        c.equal("... best and valid", self.loc(88, v6), [(True, True, sink)])
        c.comes_to("... advertised to the customer", lambda: prefix(88, v6) in self.cust.rib, True)
        self.swallowed("...", 88, v6)
        c.equal("%s: the rest of the network answers" % text, self.answers(1, v6), 3)
        self.audit(text)

        self.rpc.call("config.edit", patch=[{"op": "remove", "path": "/static_routes/%d" % (1 if v6 else 0)}])
        self.rpc.call("config.commit")
        c.comes_to("%s: without the static blackhole the path by its address is gone" % text, lambda: self.lookup(67, v6), (net, "forward"))
        c.comes_to("... from the core, too", lambda: prefix(67, v6) in self.core.rib, False)
        c.equal("... `discard` stays", self.lookup(66, v6), (prefix(66, v6), "blackhole"))
        self.audit("...")
        self.cust.send(UPDATE, withdraw(prefix(66, v6)))
        c.comes_to("%s: withdrawn, the host answers again" % text, lambda: (self.lookup(66, v6), self.answers(66, v6)), ((net, "forward"), 3))
        self.audit("...")


    def commit(self):
        """The policy loses and regains the community: the kept route is replayed, and the preview predicts the change."""
        c, path = self.c, "/route_policies/0/nodes/0/set/next_hop"
        self.announce(self.cust, prefix(66), CUST, communities=[DISCARD])
        c.comes_to("before the commits", lambda: self.lookup(66), (prefix(66), "blackhole"))
        for op, kind in (({"op": "remove", "path": path}, "forward"), ({"op": "add", "path": path, "value": "discard"}, "blackhole")):
            self.rpc.call("config.edit", patch=[op])
            preview = self.rpc.call("bgp.refresh.preview", candidate=True)
            c.equal("preview, then a commit that makes it %s: the tables" % kind, preview["fib"], {"added": 0, "removed": 0, "changed": 1})
            for e in self.rpc.call("config.commit")["effects"]:
                if e.get("job"):
                    wait_job(self.rpc, e["job"])
            c.comes_to("... are so", lambda: self.lookup(66), (prefix(66), kind))
            c.equal("... best and valid", self.loc(66, False), [(True, True, "discard" if kind == "blackhole" else CUST)])
            c.equal("... pings that are answered", self.answers(66), 0 if kind == "blackhole" else 3)
            self.audit("...")


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        t.family(True)  # the later of the static routes is removed first
        t.family(False)
        t.commit()
        t.cust.close()
        t.core.close()
        t.rpc.close()


if __name__ == "__main__":
    need("ip", "ethtool", "ping", files=[KEELD])
    raise SystemExit(labtest.main(test))
