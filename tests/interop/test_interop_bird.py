#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld between three BIRDs: keeld's decisions about routes. Policies and their changes by commit, communities that limit advertisement,
unknown attributes, sweeping refreshes, hold time, RFC 8212, a restart. (Attributes, withdrawals, refreshes and restarts with each
daemon: test_interop.py.) A scripted speaker (labtest.Speaker) sends messages that BIRD cannot send.

    sp (10.x, AS 64605; .3 AS 64606) --- rt (keeld, AS 64512) --- b2 (BIRD, AS 64602)
    inj (AS 64600) --- b1 (BIRD, AS 64601) ---/            \\--- b3 (BIRD, AS 64512: internal)
"""
import json
import os
import re
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import (KEELD, NOTIFICATION, ROUTE_REFRESH, UPDATE, V4, Capture, Lab, Speaker, as_path, attribute, bird_routes, commit,
                     need, next_hop, origin, out_folder, peer, refresh_counters, routes, update, wait_established, wait_for, wait_job)

NAME = "interop_bird"
B1, B2, B3, SP, BARE = "198.18.1.2", "198.18.2.2", "198.18.5.2", "198.18.4.2", "198.18.4.3"

# prefix: action of b1's export filter.
ATTRIBUTES = {
    "10.1.0.0/24": "",
    "10.1.1.0/24": "bgp_origin = ORIGIN_EGP;",
    "10.1.2.0/24": "bgp_origin = ORIGIN_INCOMPLETE;",
    "10.1.3.0/24": "bgp_med = 4242;",
    "10.1.4.0/24": "bgp_community.add((64601, 1)); bgp_community.add((64601, 65535)); bgp_community.add((65535, 666));",
    "10.1.6.0/24": "bgp_ext_community.add((rt, 64601, 20)); bgp_ext_community.add((ro, 64601, 21)); "
                   "bgp_ext_community.add((generic, 0x03060000, 0x12345678));",
    "10.1.8.0/24": "bgp_community.add((65535, 65281));",  # no-export
    "10.1.9.0/24": "",  # refused by keeld's import policy
    "10.1.10.0/24": "",  # refused by keeld's export policy to b2
    "10.1.11.0/24": "bgp_community.add((65535, 65282));",  # no-advertise
}
QUIET, GONE = "10.1.20.0/24", ["10.1.30.0/24", "10.1.31.0/25"]
INJECTED = ["10.2.0.0/24", "10.2.1.0/24"]
FROM_B2 = ["10.3.0.0/16", "10.3.128.0/17"]
FENCE = "192.0.2.0/24"
NETWORKS = ["203.0.113.0/24", "198.51.100.0/25"]


def bird1(quiet_rejected=False):
    static = "".join("  route %s blackhole;\n" % p for p in [*ATTRIBUTES, QUIET])
    gone = "".join("  route %s blackhole;\n" % p for p in GONE)
    cases = "".join("  if net = %s then { %s accept; }\n" % kv for kv in ATTRIBUTES.items())
    return """
log stderr all;
router id 198.18.1.2;
protocol device { }
protocol static fixed { ipv4;
%s}
protocol static gone { ipv4;
%s}
filter to_keel {
%s  if net = %s then { %s; }
  if source = RTS_STATIC || proto = "inj" then accept;
  reject;
}
protocol bgp inj { local 198.18.3.1 as 64601; neighbor 198.18.3.2 as 64600; passive; ipv4 { import all; export none; }; }
protocol bgp keel { local 198.18.1.2 as 64601; neighbor 198.18.1.1 as 64512; hold time 90; connect retry time 1; connect delay time 1;
  error wait time 1, 2; ipv4 { import all; export filter to_keel; next hop self; }; }
""" % (static, gone, cases, QUIET, "reject" if quiet_rejected else "accept")


def bird2():
    return """
log stderr all;
router id 198.18.2.2;
protocol device { }
protocol static fixed { ipv4;
%s}
protocol bgp keel { local 198.18.2.2 as 64602; neighbor 198.18.2.1 as 64512; hold time 90; connect retry time 1; connect delay time 1;
  error wait time 1, 2; ipv4 { import all; export where source = RTS_STATIC; }; }
""" % "".join("  route %s blackhole;\n" % p for p in FROM_B2)


BIRD3 = """
log stderr all;
router id 198.18.5.2;
protocol device { }
protocol static way { ipv4; route 198.18.0.0/16 via 198.18.5.1; }
protocol bgp keel { local 198.18.5.2 as 64512; neighbor 198.18.5.1 as 64512; hold time 90; connect retry time 1; connect delay time 1;
  error wait time 1, 2; ipv4 { import all; export none; }; }
"""


def prefix_list(name, *prefixes):
    return {"name": name, "entries": [{"action": "permit", "prefix": p} for p in prefixes]}


CONFIG = {
    "router": {"asn": 64512, "router_id": "198.18.0.1"},
    "prefix_lists": [prefix_list("unwanted", "10.1.9.0/24"), prefix_list("hidden", "10.1.10.0/24"), prefix_list("preferred", "10.1.0.0/24", "10.1.1.0/24"),
                     prefix_list("marked", "10.1.0.0/24", "10.1.2.0/24")],
    "route_policies": [
        {"name": "from-b1", "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": "unwanted"}},
                                      {"seq": 30, "action": "permit", "set": {"local_pref": 150}}]},
        {"name": "to-b2", "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": "hidden"}},
                                    {"seq": 30, "action": "permit"}]},
        {"name": "from-sp", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": 120}}]}],
    "bgp": {
        "networks": [{"prefix": p} for p in NETWORKS],
        "peers": [
            {"address": B1, "asn": 64601, "families": {V4: {"import_policy": "from-b1", "export_policy": "accept-all"}}},
            {"address": B2, "asn": 64602, "families": {V4: {"import_policy": "accept-all", "export_policy": "to-b2"}}},
            {"address": B3, "asn": 64512},
            {"address": SP, "asn": 64605, "passive": True, "families": {V4: {"import_policy": "from-sp", "export_policy": "deny-all"}}},
            {"address": BARE, "asn": 64606, "passive": True}]},
}
ACCEPTED_B1 = len(ATTRIBUTES) - 1 + 1 + len(GONE) + len(INJECTED)
NOT_TO_EXTERNAL = {"10.1.8.0/24", "10.1.11.0/24"}


class Test:
    def __init__(self, checks, lab, out):
        self.c, self.lab, self.out = checks, lab, out

    def build(self):
        lab = self.lab
        for h in ("rt", "b1", "b2", "b3", "inj", "sp"):
            lab.host(h)
        lab.link("rt", "up1", "198.18.1.1/24", "b1", "up", "198.18.1.2/24")
        lab.link("rt", "up2", "198.18.2.1/24", "b2", "up", "198.18.2.2/24")
        lab.link("rt", "up3", "198.18.5.1/24", "b3", "up", "198.18.5.2/24")
        lab.link("rt", "up4", "198.18.4.1/24", "sp", "up", "198.18.4.2/24")
        lab.sh("sp", "ip address add 198.18.4.3/24 dev up")
        lab.link("b1", "down", "198.18.3.1/24", "inj", "up", "198.18.3.2/24")
        self.bird1, self.birdc1 = lab.bird("b1", bird1())
        _, self.birdc2 = lab.bird("b2", bird2())
        _, self.birdc3 = lab.bird("b3", BIRD3)
        self.inject()
        self.start()

    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", CONFIG if not hasattr(self, "keeld") else json.load(open(self.file())), KEELD,
                                              args=("--no-dataplane",))
        wait_established(self.rpc, B1, B2, B3)

    def file(self):
        return os.path.join(self.lab.dir, "keeld.json")

    def inject(self):
        """Routes that BIRD cannot originate, but propagates."""
        sp = self.injector = Speaker(self.lab.netns("inj"), "198.18.3.2", "198.18.3.1", 64600).up()
        sp.send(UPDATE, update(origin(2) + as_path([64600, 64700], {64702, 64703}) + next_hop("198.18.3.2") + attribute(0x40, 6, b"") +
                               attribute(0xc0, 7, struct.pack(">I4s", 64702, socket.inet_aton("10.9.9.9"))) + attribute(0xc0, 200, b"\1\2\3"),
                               INJECTED[:1]))
        sp.send(UPDATE, update(origin() + as_path([64600, 4200000001]) + next_hop("198.18.3.2") +
                               attribute(0xc0, 7, struct.pack(">I4s", 4200000001, socket.inet_aton("10.9.9.8"))) +
                               attribute(0xc0, 201, bytes(range(256)) + b"long"), INJECTED[1:]))
        sp.send(UPDATE, update())

    # ---- readers ----

    def accepted(self, address):
        return peer(self.rpc, address)["families"][V4]["accepted"]

    def from_peer(self, address):
        return {r["prefix"]: r for r in routes(self.rpc, view="adj-in", peer=address)}

    def at(self, birdc):
        """{prefix: attributes} of a BIRD's routes from keeld."""
        return {p: a for p, a in bird_routes(birdc).items() if a["from"] == "keel"}

    def capture(self, name, interface):
        return Capture(self.lab.netns("rt"), interface, os.path.join(self.out, name + ".pcap"))

    def sessions(self):
        return {p["address"]: (p["state"], p["established_count"]) for p in self.rpc.call("bgp.peers")["peers"] if p["address"] in (B1, B2, B3)}

    def fence(self):
        """Waits until all earlier changes have reached b2: adds and removes a network, which is later in the journal."""
        commit(self.rpc, [{"op": "add", "path": "/bgp/networks/0", "value": {"prefix": FENCE}}])
        wait_for("fence at b2", lambda: FENCE in self.at(self.birdc2), 20)
        commit(self.rpc, [{"op": "remove", "path": "/bgp/networks/0"}])
        wait_for("end of the fence at b2", lambda: FENCE not in self.at(self.birdc2), 20)

    # ---- parts ----

    def attributes_in(self):
        c = self.c
        c.comes_to("every route of b1 but the refused one is accepted", lambda: self.accepted(B1), ACCEPTED_B1)
        c.comes_to("every route of b2 is accepted", lambda: self.accepted(B2), len(FROM_B2))
        seen = self.from_peer(B1)
        c.equal("prefixes from b1", set(seen), (set(ATTRIBUTES) | {QUIET} | set(GONE) | set(INJECTED)) - {"10.1.9.0/24"})

        def has(prefix, **want):
            r = seen.get(prefix, {})
            c.equal("from b1: %s" % ", ".join("%s %s" % kv for kv in want.items()), {k: r.get(k) for k in want}, want)

        has("10.1.0.0/24", as_path="64601", origin="igp", next_hop=B1, local_pref=150, med=None, communities=None, large_communities=None,
            ext_communities=None, peer=B1, valid=True, best=True, stale=False)
        has("10.1.6.0/24", ext_communities=["rt:64601:20", "soo:64601:21", "0x0306000012345678"])
        has("10.1.8.0/24", communities=["no-export"])
        has("10.2.0.0/24", as_path="64601 64600 64700 {64702,64703}", origin="incomplete")
        has("10.2.1.0/24", as_path="64601 64600 4200000001")

    def attributes_out(self):
        c = self.c
        want = (set(ATTRIBUTES) | {QUIET} | set(GONE) | set(INJECTED) | set(NETWORKS)) - {"10.1.9.0/24", "10.1.10.0/24"} - NOT_TO_EXTERNAL
        c.comes_to("b2 has the networks and the transit routes, none refused, hidden or not for export", lambda: set(self.at(self.birdc2)), want)
        c.comes_to("b1 has the networks and b2's routes, none of its own", lambda: set(self.at(self.birdc1)), set(NETWORKS) | set(FROM_B2))
        c.comes_to("b3 (internal) has all but the route with no-advertise", lambda: set(self.at(self.birdc3)),
                   (want | set(FROM_B2) | {"10.1.10.0/24", "10.1.8.0/24"}))
        c.comes_to("keeld counts what it advertises to b2", lambda: peer(self.rpc, B2)["families"][V4]["advertised"], len(want))
        c.equal("view adj-out has what b2 has", {r["prefix"] for r in routes(self.rpc, view="adj-out", peer=B2)}, want)
        seen = self.at(self.birdc2)

        def has(prefix, **want):
            r = seen.get(prefix, {})
            want = {"BGP." + k: v for k, v in want.items()}
            c.equal("at b2: %s %s" % (prefix, ", ".join("%s %s" % kv for kv in want.items())), {k: r.get(k) for k in want}, want)

        has("203.0.113.0/24", origin="IGP", as_path="64512", next_hop="198.18.2.1", local_pref="100", med=None, community=None)
        has("10.1.0.0/24", origin="IGP", as_path="64512 64601", next_hop="198.18.2.1")
        has("10.1.3.0/24", med=None)  # RFC 4271 5.1.4: not sent to another AS
        has("10.1.4.0/24", community="(64601,1) (64601,65535) (65535,666)")
        has("10.1.6.0/24", ext_community="(rt, 64601, 20) (ro, 64601, 21) (generic, 0x3060000, 0x12345678)")
        has("10.2.0.0/24", as_path="64512 64601 64600 64700 {64702 64703}", aggregator="10.9.9.9 AS64702", atomic_aggr="")
        has("10.2.1.0/24", as_path="64512 64601 64600 4200000001", aggregator="10.9.9.8 AS4200000001")
        for prefix, kind, text in (("10.2.0.0/24", 200, "01 02 03"), ("10.2.1.0/24", 201, "00 01 02")):
            value = next((v for k, v in seen.get(prefix, {}).items() if re.match(r"BGP\.(0x)?(%d|%x)\b" % (kind, kind), k)), None)
            c.true("at b2: unknown transitive attribute %d of %s" % (kind, prefix), value is not None and value.startswith(text), seen.get(prefix))
        internal = self.at(self.birdc3)
        c.equal("at b3: local pref, path without us, next hop as received, MED",
                {k: internal.get("10.1.3.0/24", {}).get(k) for k in ("BGP.local_pref", "BGP.as_path", "BGP.next_hop", "BGP.med")},
                {"BGP.local_pref": "150", "BGP.as_path": "64601", "BGP.next_hop": B1, "BGP.med": "4242"})

    def withdraw(self):
        c = self.c
        self.birdc1("disable", "gone")
        c.comes_to("b1 withdraws two: keeld has them no more", lambda: sorted(set(GONE) & set(self.from_peer(B1))), [])
        c.comes_to("... and neither has b2", lambda: sorted(set(GONE) & set(self.at(self.birdc2))), [])
        self.birdc1("enable", "gone")
        c.comes_to("announced again: b2 has them", lambda: set(GONE) <= set(self.at(self.birdc2)), True)
        commit(self.rpc, [{"op": "remove", "path": "/bgp/networks/1"}])
        c.comes_to("a network removed by commit is withdrawn from b1 and b2",
                   lambda: [p for b in (self.birdc1, self.birdc2) for p in NETWORKS if p in self.at(b)], [NETWORKS[0]] * 2)
        commit(self.rpc, [{"op": "add", "path": "/bgp/networks/-", "value": {"prefix": NETWORKS[1]}}])
        c.comes_to("and comes back", lambda: [p for b in (self.birdc1, self.birdc2) for p in NETWORKS if p in self.at(b)], NETWORKS * 2)

    def refresh_quiet(self):
        """BIRD's export filter changes without UPDATEs; only a refresh shows the change."""
        c, rpc = self.c, self.rpc
        self.lab.write("bird-b1.conf", bird1(quiet_rejected=True))
        answer = self.birdc1("configure", "soft")
        c.true("birdc configure soft", "Reconfigured" in answer, answer)
        c.true("BIRD's filter changed quietly: keeld still has the route", QUIET in self.from_peer(B1), sorted(self.from_peer(B1)))
        r = rpc.call("bgp.refresh", family=V4, scope="external", direction="import")
        c.equal("bgp.refresh of the external peers", sorted((p["address"], p["action"]) for p in r["peers"]),
                sorted([(B1, "route-refresh-sent"), (B2, "route-refresh-sent"), (SP, "not-established"), (BARE, "not-established")]))
        c.equal("the job is done", wait_job(rpc, r["job"])["state"], "done")
        c.true("the route is gone when the job is done", QUIET not in self.from_peer(B1), QUIET)
        c.comes_to("... and from b2", lambda: QUIET in self.at(self.birdc2), False)
        self.lab.write("bird-b1.conf", bird1())
        self.birdc1("configure", "soft")
        r = rpc.call("bgp.refresh", family=V4, scope="peer", peer=B1, direction="import")
        wait_job(rpc, r["job"])
        c.equal("and back after the next refresh", (QUIET in self.from_peer(B1), self.accepted(B1)), (True, ACCEPTED_B1))

    def sweep(self):
        """Routes not repeated between BoRR and EoRR are swept (RFC 7313 4); BIRD sends withdrawals, so our speaker omits the routes silently."""
        c, rpc = self.c, self.rpc
        asked = self.asked = []
        # The second community is non-transitive: removed here (RFC 4360 6).
        attributes = origin() + as_path([64605]) + next_hop(SP) + attribute(0xc0, 16, bytes.fromhex("0002fc5d00000001" "4306000000000002"))
        kept, lost = ["10.5.0.0/24", "10.5.1.0/24"], ["10.5.2.0/24", "10.5.3.0/24", "10.5.4.0/24"]

        def answer(sp):
            asked.append(1)
            sp.refresh(1)
            sp.send(UPDATE, update(attributes, kept))
            sp.refresh(2)

        sp = Speaker(self.lab.netns("sp"), SP, "198.18.4.1", 64605, on_refresh=answer).up()
        sp.send(UPDATE, update(attributes, kept + lost))
        c.comes_to("routes of the speaker", lambda: self.accepted(SP), 5)
        c.comes_to("... reach b2", lambda: set(kept + lost) <= set(self.at(self.birdc2)), True)
        c.equal("keeld shows a non-transitive extended community", self.from_peer(SP)[kept[0]].get("ext_communities"),
                ["rt:64605:1", "0x4306000000000002"])
        c.equal("... and does not send it to another AS", self.at(self.birdc2)[kept[0]].get("BGP.ext_community"), "(rt, 64605, 1)")
        r = rpc.call("bgp.refresh", family=V4, scope="peer", peer=SP, direction="import")
        c.equal("refresh with silence about three", wait_job(rpc, r["job"])["state"], "done")
        c.comes_to("two are left", lambda: sorted(self.from_peer(SP)), kept)
        counters = refresh_counters(rpc, SP)
        c.equal("three swept, one request", (counters["stale_swept"], counters["requests_sent"], len(asked)), (3, 1, 1))
        c.comes_to("b2 has only the two", lambda: sorted(p for p in self.at(self.birdc2) if p.startswith("10.5.")), kept)
        c.equal("deny-all towards the speaker: no route left", sp.updates(), [])
        self.speaker = sp

    def delayed(self):
        """policy_change_delay_s: changes wait together; a command applies the changes at once (keel-policy(7) rule 7)."""
        c, rpc, asked = self.c, self.rpc, len(self.asked)

        def prefer(value, delay):
            r = commit(rpc, [{"op": "replace", "path": "/route_policies/2/nodes/0/set/local_pref", "value": value},
                             {"op": "add", "path": "/bgp/policy_change_delay_s", "value": delay}])
            return [(e["address"], e["effect"], e["job"]) for e in r["effects"]]

        def seen():
            return {r["local_pref"] for r in self.from_peer(SP).values()}, len(self.asked) - asked

        first = prefer(121, 1)
        c.equal("a policy change with a delay of 1 s: its job waits", (seen(), rpc.call("jobs.get", id=first[0][2])["state"]), (({120}, 0), "running"))
        c.equal("a second change joins it", prefer(122, 1), first)
        c.equal("... and both are one request", (wait_job(rpc, first[0][2])["state"], seen()), ("done", ({122}, 1)))
        waiting = prefer(123, 600)[0][2]
        r = rpc.call("bgp.refresh", family=V4, scope="peer", peer=SP, direction="import")
        c.equal("a command applies a waiting change at once", (wait_job(rpc, r["job"])["state"], seen()), ("done", ({123}, 2)))
        c.comes_to("... and the change's job is done with it", lambda: rpc.call("jobs.get", id=waiting)["state"], "done")
        waiting = prefer(124, 600)[0][2]
        removed = commit(rpc, [{"op": "remove", "path": "/bgp/peers/3"}, {"op": "remove", "path": "/bgp/policy_change_delay_s"}])
        c.equal("a peer removed", [(e["address"], e["effect"]) for e in removed["effects"]], [(SP, "session-reset")])
        c.equal("... what waited for it has failed", rpc.call("jobs.get", id=waiting)["state"], "failed")
        c.eventually("... it was told: peer de-configured", lambda: ((NOTIFICATION, b"\6\3") in self.speaker.received, self.speaker.received[-3:]))
        c.comes_to("... its routes are gone", lambda: [p for p in self.at(self.birdc2) if p.startswith("10.5.")], [])
        commit(rpc, [{"op": "add", "path": "/bgp/peers/3", "value": CONFIG["bgp"]["peers"][3]},
                     {"op": "replace", "path": "/route_policies/2/nodes/0/set/local_pref", "value": 120}])
        c.equal("... and it is there again, idle or active", peer(rpc, SP)["state"] in ("idle", "active", "connect"), True)

    def hold_time(self):
        """A peer falls silent without a FIN."""
        c = self.c
        self.speaker.close()
        sp = Speaker(self.lab.netns("sp"), SP, "198.18.4.1", 64605).up()
        sp.send(UPDATE, update(origin() + as_path([64605]) + next_hop(SP), ["10.5.8.0/24"]))
        c.comes_to("a new session", lambda: self.accepted(SP), 1)
        sp.close()
        c.comes_to("a closed session takes its routes along", lambda: self.from_peer(SP), {})
        sp = Speaker(self.lab.netns("sp"), SP, "198.18.4.1", 64605, hold=3).up()
        sp.send(UPDATE, update(origin() + as_path([64605]) + next_hop(SP), ["10.5.9.0/24"]))
        c.comes_to("hold time of 3 s agreed", lambda: (peer(self.rpc, SP)["hold_time_s"], self.accepted(SP)), (3, 1))
        sp.silent = True
        c.eventually("silence for the hold time: NOTIFICATION 4", lambda: (any(k == NOTIFICATION and b[0] == 4 for k, b in sp.received),
                                                                           sp.received[-3:]), 10)
        c.comes_to("and the route is gone", lambda: self.from_peer(SP), {})
        c.true("last_error says so", "hold" in peer(self.rpc, SP)["last_error"].lower(), peer(self.rpc, SP)["last_error"])
        sp.close()

    def no_policy(self):
        c = self.c
        sp = Speaker(self.lab.netns("sp"), BARE, "198.18.4.1", 64606).up()
        sp.send(UPDATE, update(origin() + as_path([64606]) + next_hop(BARE), ["10.6.0.0/24", "10.6.1.0/24"]))
        c.comes_to("RFC 8212: no policy, said in both directions", lambda: peer(self.rpc, BARE)["families"][V4]["no_policy"], ["import", "export"])
        c.comes_to("... the routes are refused and counted", lambda: (self.accepted(BARE), peer(self.rpc, BARE)["families"][V4]["rejected_total"]), (0, 2))
        c.eventually("... End-of-RIB is sent", lambda: ((UPDATE, b"\0\0\0\0") in sp.received, sp.received))
        c.equal("... and nothing else", sp.updates(), [])
        c.equal("an internal peer needs none", peer(self.rpc, B3)["families"][V4]["no_policy"], [])
        with open(self.keeld.log) as f:
            log = f.read()
        c.true("... and the log says so", len(re.findall("no-policy peer=%s " % re.escape(BARE), log)) >= 2, log[-500:])
        sp.close()

    def refresh_export(self):
        c, rpc = self.c, self.rpc
        had = self.at(self.birdc2)
        cap = self.capture("refresh-export", "up2")
        r = rpc.call("bgp.refresh", family=V4, scope="peer", peer=B2, direction="export")
        c.equal("bgp.refresh export", [p["action"] for p in r["peers"]], ["readvertised"])
        c.equal("its job is done", wait_job(rpc, r["job"])["state"], "done")
        c.comes_to("BIRD has all routes", lambda: self.at(self.birdc2) == had, True)
        messages = cap.stop().messages()
        c.equal("BoRR, everything, EoRR", ([t for s, k, t, _, _ in messages if k == ROUTE_REFRESH],
                                           sorted(p for s, k, _, ps, _ in messages if s == "198.18.2.1" for p in ps)), ([1, 2], sorted(had)))

    def policy_change(self):
        c, rpc = self.c, self.rpc
        before, was, counters = self.from_peer(B1), self.sessions(), refresh_counters(rpc, B1)
        had = self.at(self.birdc2)
        cap = self.capture("policy-import", "up2")
        r = commit(rpc, [{"op": "add", "path": "/route_policies/0/nodes/1",
                          "value": {"seq": 20, "action": "permit", "match": {"prefix_list": "preferred"}, "set": {"local_pref": 300}}}])
        c.equal("import policy changed by commit: effects", [(e["address"], e["vrf"], e["family"], e["direction"], e["effect"]) for e in r["effects"]],
                [(B1, "default", V4, "import", "route-refresh-sent")])
        c.equal("its job is done", wait_job(rpc, r["effects"][0]["job"])["state"], "done")
        after = self.from_peer(B1)
        moved = {p for p in after if p not in before or {k: v for k, v in after[p].items() if k != "age_s"} != {k: v for k, v in before[p].items() if k != "age_s"}}
        c.equal("only the two prefixes moved", (moved, set(before) - set(after)), ({"10.1.0.0/24", "10.1.1.0/24"}, set()))
        c.equal("... to 300", {after[p]["local_pref"] for p in moved}, {300})
        c.equal("one request for it", refresh_counters(rpc, B1)["requests_sent"] - counters["requests_sent"], 1)
        c.comes_to("b3 (internal) hears of the new local pref", lambda: self.at(self.birdc3)["10.1.1.0/24"]["BGP.local_pref"], "300")
        self.fence()
        messages = cap.stop().messages()
        c.equal("b2, to whom nothing changed, hears nothing", [p for s, _, _, a, w in messages if s == "198.18.2.1" for p in a + w], [FENCE] * 2)
        c.equal("no session changed", self.sessions(), was)

        cap = self.capture("policy-export", "up2")
        r = commit(rpc, [{"op": "add", "path": "/route_policies/1/nodes/1",
                          "value": {"seq": 20, "action": "permit", "match": {"prefix_list": "marked"}, "set": {"med": 77}}}])
        c.equal("export policy changed by commit: effects", [(e["address"], e["direction"], e["effect"]) for e in r["effects"]], [(B2, "export", "readvertised")])
        c.comes_to("b2 has the new MED for the two, for nobody else",
                   lambda: {p: a["BGP.med"] for p, a in self.at(self.birdc2).items() if "BGP.med" in a}, {"10.1.0.0/24": "77", "10.1.2.0/24": "77"})
        self.fence()
        messages = cap.stop().messages()
        c.equal("only the differences were sent", sorted(p for s, k, _, a, w in messages if s == "198.18.2.1" for p in a + w),
                ["10.1.0.0/24", "10.1.2.0/24", FENCE, FENCE])
        r = commit(rpc, [{"op": "replace", "path": "/prefix_lists/1/entries/0/prefix", "value": "10.1.1.0/24"}])
        c.equal("a list that the policy refers to changed", [(e["address"], e["direction"], e["effect"]) for e in r["effects"]], [(B2, "export", "readvertised")])
        c.comes_to("the hidden prefix is another one now", lambda: [p in self.at(self.birdc2) for p in ("10.1.10.0/24", "10.1.1.0/24")], [True, False])
        r = commit(rpc, [{"op": "add", "path": "/prefix_lists/-", "value": prefix_list("unused", "10.0.0.0/8")}])
        c.equal("a list that nobody uses has no effect", r["effects"], [])
        r = commit(rpc, [{"op": "replace", "path": "/prefix_lists/1/entries/0/prefix", "value": "10.1.10.0/24"},
                         {"op": "remove", "path": "/route_policies/1/nodes/1"}, {"op": "remove", "path": "/route_policies/0/nodes/1"}])
        for e in r["effects"]:
            if e.get("job"):
                wait_job(rpc, e["job"])
        c.comes_to("all changed back: b2 as before", lambda: self.at(self.birdc2) == had, True)
        c.equal("... keeld as before", {p: r["local_pref"] for p, r in self.from_peer(B1).items()}, {p: r["local_pref"] for p, r in before.items()})
        c.equal("no session changed by all that", self.sessions(), was)

    def restart(self):
        c, had = self.c, self.at(self.birdc2)
        c.equal("SIGTERM: exit status 0", self.keeld.stop(), 0)
        for n, birdc in ((1, self.birdc1), (2, self.birdc2)):
            c.comes_to("b%d lost the session and the routes" % n, lambda: self.at(birdc), {})
            text = birdc("show", "protocols", "all", "keel")
            c.true("b%d was told: administrative shutdown" % n, "Administrative shutdown" in text, text)
        with open(self.file()) as f:
            c.equal("the file is what was committed", sorted(json.load(f)), sorted(CONFIG))
        self.start()
        c.comes_to("after a restart b2 has everything again", lambda: self.at(self.birdc2) == had, True, 30)
        c.comes_to("... and keeld has b1's routes", lambda: self.accepted(B1), ACCEPTED_B1)


def test(checks):
    out = out_folder(NAME)
    with Lab(out) as lab:
        t = Test(checks, lab, out)
        t.build()
        for part in (t.attributes_in, t.attributes_out, t.withdraw, t.refresh_quiet, t.refresh_export, t.policy_change,
                     t.sweep, t.delayed, t.hold_time, t.no_policy, t.restart):
            part()
        checks.equal("SIGTERM at the end: exit status 0", t.keeld.stop(), 0)


if __name__ == "__main__":
    need("bird", "birdc", "tshark", "ip", files=[KEELD])
    raise SystemExit(labtest.main(test))
