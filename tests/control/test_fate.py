#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""rib.fate against an oracle: random announcements of five peers, and the whole answer for prefixes drawn at random (needs root: else the exit status
is 77). The oracle knows the configuration and what the peers sent: import verdicts, RFC 4271 9.1.2.2, export rules.

usage: test_fate.py KEELD KEELCTL
"""
import ipaddress
import os
import random
import struct
import subprocess
import sys
import time

KEELCTL = sys.argv.pop(2)

from keel_rig import KeelTest, THEM, UPDATE, V4, V6, main, update_of  # noqa: E402

AS, DRAWN, SEED = 64512, int(os.environ.get("DRAWN", 1000)), int(os.environ.get("SEED", 1))
ROUTES = 2 * DRAWN
DENY, RAISE, NO_EXPORT = AS << 16 | 1, AS << 16 | 2, 0xffffff01
ORIGINS = ("igp", "egp", "incomplete")
# address -> (AS, import policy, export policy, keep_all_routes)
PEERS = {"192.0.2.2": (64513, "in", "out", True), "192.0.2.3": (64514, "in", "accept-all", False), "192.0.2.50": (64515, "narrow", None, False),
         "192.0.2.51": (AS, None, None, False), "192.0.2.52": (AS, None, None, False)}


def peer(address):
    asn, imported, exported, keep = PEERS[address]
    policies = {k: v for k, v in (("import_policy", imported), ("export_policy", exported)) if v}
    return {"address": address, "asn": asn, "passive": True, "families": {V4: dict(policies, keep_all_routes=keep)}}


def matches(prefix):
    return ipaddress.ip_address(prefix.split("/")[0]).packed[2] % 4 == 0


DOCUMENT = {
    "router": {"asn": AS, "router_id": "192.0.2.1"},
    "community_lists": [{"name": "deny", "entries": [{"action": "permit", "community": "64512:1"}]},
                        {"name": "raise", "entries": [{"action": "permit", "community": "64512:2"}]}],
    "as_path_lists": [{"name": "bad", "entries": [{"action": "permit", "regex": "_64999_"}]}],
    "prefix_lists": [{"name": "fourth", "entries": [{"action": "permit", "prefix": "20.%d.%d.0/24" % (i >> 8, i & 255)} for i in range(0, ROUTES, 4)]}],
    "route_policies": [
        {"name": "in", "nodes": [{"seq": 10, "action": "deny", "match": {"community_list": "deny"}},
                                 {"seq": 20, "action": "permit", "match": {"community_list": "raise"}, "set": {"local_pref": 200}},
                                 {"seq": 30, "action": "permit"}]},
        {"name": "narrow", "nodes": [{"seq": 5, "action": "deny", "match": {"as_path_list": "bad"}},
                                     {"seq": 15, "action": "permit", "match": {"origin": "igp"}}]},
        {"name": "out", "nodes": [{"seq": 7, "action": "deny", "match": {"prefix_list": "fourth"}}, {"seq": 9, "action": "permit"}]}],
    "bgp": {"peers": [peer(a) for a in PEERS]}}


# ---- the oracle ----

class Route:
    def __init__(self, rng, address):
        self.peer, self.asn = address, PEERS[address][0]
        self.external = self.asn != AS
        self.path = [self.asn] if self.external else [rng.choice((65001, 65002))]
        self.path += [rng.choice((64999, 65010, 65011)) for _ in range(rng.randrange(3))]
        if rng.random() < 0.1:
            self.path.append(AS)
        self.origin, self.med = rng.randrange(3), rng.choice((None, 0, 10))
        self.communities = [c for c in (DENY, RAISE, NO_EXPORT) if rng.random() < 0.2]
        self.local_pref = None if self.external else 100
        self.cause = self.node = None
        self.verdict()

    def verdict(self):
        """Import: the cause of a refusal, and the deciding node (0: none)."""
        policy = PEERS[self.peer][1]
        if AS in self.path:
            self.cause = "as-loop"
        elif policy == "in":
            self.node = 10 if DENY in self.communities else 20 if RAISE in self.communities else 30
            if self.node == 20:
                self.local_pref = 200
        elif policy == "narrow":
            self.node = 5 if 64999 in self.path else 15 if self.origin == 0 else 0
        if self.cause is None and self.node in (10, 5, 0):
            self.cause = "policy"

    def octets(self, network):
        path = struct.pack(">BB%dI" % len(self.path), 2, len(self.path), *self.path)
        body = b"\x40\1\1" + bytes([self.origin]) + b"\x40\2" + bytes([len(path)]) + path + \
            b"\x40\3\4" + bytes([192, 0, 2, 100 + int(self.peer.split(".")[3])])
        body += b"" if self.med is None else b"\x80\4\4" + struct.pack(">I", self.med)
        body += b"" if self.external else b"\x40\5\4\0\0\0\x64"
        if self.communities:
            body += b"\xc0\x08" + bytes([4 * len(self.communities)]) + struct.pack(">%dI" % len(self.communities), *self.communities)
        return struct.pack(">HH", 0, len(body)) + body + network

    def steps(self):
        """[(step, value)]: the lower value wins; MED is compared within a neighbour AS."""
        return [("local-pref", -(100 if self.local_pref is None else self.local_pref)), ("as-path-length", len(self.path)), ("origin", self.origin),
                ("med", self.med or 0), ("external", not self.external), ("router-id", ipaddress.ip_address(self.peer).packed)]


def step(a, b):
    """The first step in which both differ, and whether `a` wins."""
    for (name, x), (_, y) in zip(a.steps(), b.steps()):
        if x != y and (name != "med" or a.path[0] == b.path[0]):
            return name, x < y
    raise AssertionError("equal routes")


def best_of(routes):
    """RFC 4271 9.1.2.2: MED first among the routes of a neighbour AS, so the best of each AS competes."""
    best = {}
    for r in routes:
        if r.path[0] not in best or step(r, best[r.path[0]])[1]:
            best[r.path[0]] = r
    heads = list(best.values())
    for r in heads:
        if all(r is other or step(r, other)[1] for other in heads):
            return r
    return None


def exports_of(prefix, best):
    """{peer: (advertised, reason, policy, node)}; node 0: no node, None: no key."""
    found = {}
    for address, (asn, _, policy, _) in PEERS.items():
        external, node, reason = asn != AS, None, None
        if best is None:
            reason = "no-route"
        elif best.peer == address:
            reason = "source"
        elif external and policy is None:
            reason = "no-policy"
        elif not external and not best.external:
            reason = "internal"
        elif external and NO_EXPORT in best.communities:
            reason = "community"
        elif policy is not None:
            node = 0 if policy == "accept-all" else 7 if matches(prefix) else 9
            reason = "policy" if node == 7 else None
        found[address] = (reason is None, reason, policy, node)
    return found


# ---- what keeld answers, in the oracle's words ----

def node_of(o):
    return (o["node"] or 0) if "node" in o else None


def told_paths(answer):
    return {p["peer"]: (p["best"], p.get("reason"), p["import"]["policy"], node_of(p["import"]), p["import"].get("changed")) for p in answer["paths"]}


def told_exports(answer):
    return {e["peer"]: (e["advertised"], e.get("reason"), e.get("policy"), node_of(e)) for e in answer["exports"]}


class Fate(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(DOCUMENT)
        self.speakers = {a: self.speak(address=a, asn=PEERS[a][0], families=(V4,)) for a in PEERS}
        self.rng = random.Random(SEED)
        self.began = time.time()
        self.routes = {}  # prefix -> {peer: Route}

    def say(self, i):
        prefix = "20.%d.%d.0/24" % (i >> 8, i & 255)
        self.routes[prefix] = {}
        for address in self.rng.sample(sorted(PEERS), self.rng.randrange(1, len(PEERS) + 1)):
            route = self.routes[prefix][address] = Route(self.rng, address)
            self.speakers[address].send(UPDATE, route.octets(bytes([24, 20, i >> 8, i & 255])))

    def counted(self):
        return {p["address"]: p["families"][V4]["received"] + sum(n for c, n in p["families"][V4]["refused"].items() if c != "next-hop")
                for p in self.keel.call("bgp.peers")["peers"]}

    def settled(self):
        families = [p["families"][V4] for p in self.keel.call("bgp.peers")["peers"]]
        return all("next-hop" not in f["refused"] for f in families)

    def fate(self, prefix):
        """The answer when all exports have been sent."""
        found = []

        def rests():
            found[:] = [self.keel.call("rib.fate", {"family": V4, "prefix": prefix})]
            return not any("pending" in e for e in found[0]["exports"])
        self.wait("rest at %s" % prefix, rests)
        return found[0]

    def check(self, prefix):
        routes, answer = self.routes[prefix].values(), self.fate(prefix)
        accepted = [r for r in routes if r.cause is None]
        best, paths, refused = best_of(accepted), {}, {}
        for r in routes:
            policy, keep = PEERS[r.peer][1], PEERS[r.peer][3]
            changed = ["local_pref"] if r.node == 20 else []
            if r.cause is not None and not keep:
                refused[r.peer] = (r.cause, policy if r.cause == "policy" else None, r.node if r.cause == "policy" else None)
                continue
            reason = None if r is best else ("as-loop" if r.cause == "as-loop" else "rejected-by-policy") if r.cause else step(best, r)[0] \
                if step(best, r)[1] else "med"
            known = policy is not None and r.cause != "as-loop" and (keep or policy == "narrow")
            paths[r.peer] = (r is best, reason, policy, r.node if known else None, changed if known and r.cause is None else None)
        self.assertEqual(told_paths(answer), paths, prefix)
        self.assertEqual({e["peer"]: (e["cause"], e.get("policy"), node_of(e)) for e in answer["refused"]}, refused, prefix)
        self.assertEqual(told_exports(answer), exports_of(prefix, best), prefix)
        self.assertIsNone(answer["fib"])
        for o in answer["paths"] + answer["refused"]:
            self.assertTrue(self.began - 2 <= o["time"] <= time.time() + 1, o)
        return best

    def test_fate_is_true(self):
        for i in range(ROUTES):
            self.say(i)
        for i in self.rng.sample(range(ROUTES), ROUTES // 10):
            for address in self.routes["20.%d.%d.0/24" % (i >> 8, i & 255)]:
                self.speakers[address].send(UPDATE, struct.pack(">H", 4) + bytes([24, 20, i >> 8, i & 255]) + b"\0\0")
            self.say(i)
        last = {a: max(p for p in self.routes if a in self.routes[p]) for a in PEERS}
        for address, s in self.speakers.items():  # a route behind all others: keeld has then handled all
            s.send(UPDATE, Route(random.Random(7), address).octets(b"\x10\x1e" + bytes([int(address.split(".")[3])])))
        for address in PEERS:
            p = {"family": V4, "prefix": "30.%s.0.0/16" % address.split(".")[3]}
            self.wait("the last route", lambda: (lambda a: a["paths"] or a["refused"])(self.keel.call("rib.fate", p)))
        self.wait("next hops", self.settled)
        self.assertTrue(last)
        drawn = self.rng.sample(sorted(self.routes), DRAWN)
        best = [self.check(p) for p in drawn]
        print("%d prefixes: best of %s, none %d" % (len(drawn), {a: sum(b is not None and b.peer == a for b in best) for a in PEERS}, best.count(None)),
              flush=True)
        self.assertEqual(self.fate("99.0.0.0/8")["paths"], [])
        self.text(next(p for p in drawn if any(r.cause == "policy" and r.peer == "192.0.2.50" for r in self.routes[p].values())))
        self.gone(drawn[0])

    def text(self, prefix):
        out = subprocess.run([KEELCTL, "--socket", self.keel.path, "show", "route", prefix, "fate"], capture_output=True, text=True, timeout=300)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.assertRegex(out.stdout, r"\n     192\.0\.2\.50 at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: refused: policy: policy narrow, no?d?e? ?(node|5)")
        self.assertRegex(out.stdout, r"\nPeers\n(  192\.0\.2\.\d+: (not )?advertised.*\n){5}$")

    def gone(self, prefix):
        """A withdrawn prefix: no path, not advertised."""
        network = ipaddress.ip_network(prefix).network_address.packed[:3]
        for address in self.routes[prefix]:
            self.speakers[address].send(UPDATE, struct.pack(">H", 4) + b"\x18" + network + b"\0\0")
        self.wait("no paths", lambda: not self.fate(prefix)["paths"])
        self.assertEqual({e["reason"] for e in self.fate(prefix)["exports"]}, {"no-route"})


class Views(KeelTest):
    """What a peer offers, what a route carries, and a default route that no table has."""
    BOTH = {"import_policy": "accept-all", "export_policy": "accept-all"}

    def document(self, **family):
        peers = [{"address": a, "asn": n, "passive": True, "families": {V4: dict(self.BOTH, **f), V6: dict(self.BOTH)}}
                 for a, n, f in ((THEM, 64513, {}), ("192.0.2.3", 64514, family))]
        return {"router": {"asn": AS, "router_id": "192.0.2.1"}, "bgp": {"next_hop_tracking": False, "peers": peers}}

    def keelctl(self, *words):
        return subprocess.run([KEELCTL, "--socket", self.keel.path, *words], capture_output=True, text=True, timeout=60).stdout

    def test_attributes_and_capabilities(self):
        self.start(self.document())
        # fqdn "ab", and a code that nobody has registered
        speaker = self.speak(more=bytes([73, 4, 2]) + b"ab\0" + bytes([200, 2, 0xab, 0xcd]))
        more = b"\xc0\x23\4" + struct.pack(">I", 64999) + b"\xc0\x63\3abc"
        speaker.send(UPDATE, update_of(V4, THEM, (64513,), bytes([24, 20, 0, 0]), more))
        known = {"only_to_customer": 64999, "unknown_attributes": [{"type": 99, "flags": 0xe0, "value": "616263"}]}

        def route(view, peer):
            return [{k: r.get(k) for k in known} for r in self.keel.call("rib.routes", {"family": V4, "view": view, "peer": peer})["routes"]]
        self.wait("the route", lambda: route("adj-in", THEM) == [known])
        self.speak(address="192.0.2.3", asn=64514)
        self.wait("the route of the other", lambda: route("adj-out", "192.0.2.3") == [known])
        out = self.keelctl("show", "route", "20.0.0.0/24")
        self.assertRegex(out, r"only to customer +AS 64999\n +attribute 99 +flags 224, 0x616263\n")
        peer = self.keel.call("bgp.peers", {"peer": THEM})["peers"][0]
        self.assertEqual([(c["code"], c.get("name"), c["value"]) for c in peer["offered"]],
                         [(1, "multiprotocol", "00010001"), (1, "multiprotocol", "00020001"), (2, "route-refresh", ""), (70, "enhanced-route-refresh", ""),
                          (65, "four-octet-as", "0000fc01"), (73, "fqdn", "02616200"), (200, None, "abcd")])
        self.assertRegex(self.keelctl("show", "bgp", "peer", THEM), r"Offered +multiprotocol 0x00010001\n(.*\n)+ +fqdn 0x02616200\n +capability 200 0xabcd\n")

    def test_default_route_of_this_router(self):
        self.start(self.document(default_originate=True))
        them, receiver = self.speak(), self.speak(address="192.0.2.3", asn=64514)
        self.wait("the default route", lambda: receiver.table() == {"0.0.0.0/0"})

        def out(**params):
            params = dict({"family": V4, "view": "adj-out", "peer": "192.0.2.3"}, **params)
            found = []
            while True:
                answer = self.keel.call("rib.routes", params)
                found += answer["routes"]
                if "next" not in answer:
                    return [(r["prefix"], r["next_hop"], r["as_path"]) for r in found]
                params["cursor"] = answer["next"]

        def fate():
            answer = self.keel.call("rib.fate", {"family": V4, "prefix": "0.0.0.0/0"})
            return {e["peer"]: (e["advertised"], e.get("reason"), e.get("pending")) for e in answer["exports"]}
        ours = ("0.0.0.0/0", "192.0.2.1", "64512")
        for _ in range(2):  # without and with a default route in the table
            self.assertEqual(out(prefix="0.0.0.0/0"), [ours])
            self.assertIn("192.0.2.3: advertised: default_originate sends its own route", self.keelctl("show", "route", "0.0.0.0/0", "fate"))
            self.assertEqual(fate()["192.0.2.3"], (True, "own-default", None))
            self.assertEqual(self.keel.call("rib.routes", {"family": V4, "view": "adj-out", "peer": THEM})["routes"], [])
            them.send(UPDATE, update_of(V4, THEM, (64513,), bytes([0])))
            self.wait("a default route", lambda: self.keel.call("rib.routes", {"family": V4, "view": "loc", "count": True})["count"] == 1)
        them.announce("20.0.0.0", "20.0.1.0")
        self.wait("all routes", lambda: len(receiver.table()) == 3)
        for params in ({}, {"limit": 1}, {"prefix": "0.0.0.0/0", "longer": True}):
            self.assertEqual(sorted(r[0] for r in out(**params)), ["0.0.0.0/0", "20.0.0.0/24", "20.0.1.0/24"], params)
        self.assertEqual(out(prefix="20.0.0.0/16", longer=True)[0][0], "20.0.0.0/24")
        self.assertIn("0.0.0.0/0 ", self.keelctl("show", "route", "peer", "192.0.2.3", "advertised"))
        # a preview counts the end of the route, and the commit sends the route of the table
        for origin, want in ((False, (True, None, None)), (True, (True, "own-default", None))):
            peers = self.document(default_originate=origin)["bgp"]["peers"]
            self.keel.call("config.edit", {"merge": {"bgp": {"peers": peers}}})
            answer = self.keel.call("bgp.refresh.preview", {"candidate": True})
            self.assertEqual([(p["address"], p["added"], p["changed"], p["removed"]) for p in answer["peers"]], [("192.0.2.3", 0, 1, 0)])
            self.keel.call("config.commit")
            self.wait("the default route of %s" % origin, lambda w=want: fate()["192.0.2.3"] == w)
            self.assertEqual([r for r in out() if r[0] == "0.0.0.0/0"], [ours] if origin else [("0.0.0.0/0", "192.0.2.1", "64512 64513")])


if __name__ == "__main__":
    main()
