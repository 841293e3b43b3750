#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Routes fit to be passed on, by a real keeld: graceful shutdown (RFC 8326), blackholes (RFC 7999), clients of a route server (RFC 7947), and limits of
advertised prefixes; BIRD as a client. Needs root; else the exit status is 77.

usage: test_passed_on.py KEELD
"""
import ipaddress
import os
import struct
import subprocess

from keel_rig import NOTIFICATION, REFRESH, UPDATE, V4, V6, WAIT_S, KeelTest, Speaker, attributes, main, nlri, nlri_of, update_of

A, B, INSIDE = "192.0.2.2", "192.0.2.3", "192.0.2.50"  # two external peers, and an internal peer
ASN = {A: 64601, B: 64602, INSIDE: 64512}
BOTH = {"import_policy": "in", "export_policy": "accept-all"}
SHUTDOWN, BLACKHOLE, NO_EXPORT = 0xffff0000, 0xffff029a, 0xffffff01
HOP = "192.0.2.99"


def peer(address, **keys):
    family = dict(BOTH if address != INSIDE else {}, **keys.pop("family", {}))
    return dict({"address": address, "asn": ASN[address], "passive": True, "families": {V4: family}}, **keys)


def document(*peers, **bgp):
    return {"router": {"asn": 64512, "router_id": "192.0.2.1"},
            "prefix_lists": [{"name": "theirs", "entries": [{"action": "deny", "prefix": "20.0.9.0/24"}, {"action": "permit", "prefix": "20.0.0.0/16"},
                                                             {"action": "permit", "prefix": "2001:db8:20::/48"}]},
                             {"name": "short", "entries": [{"action": "permit", "prefix": "0.0.0.0/0", "le": 24}]}],
            "route_policies": [{"name": "in", "nodes": [{"seq": 5, "action": "permit", "match": {"prefix_list": "short", "med": 7},
                                                         "set": {"local_pref": 300, "communities": {"remove": ["graceful-shutdown"]}}, "goto": 10},
                                                        {"seq": 10, "action": "permit", "match": {"prefix_list": "short"}, "set": {"local_pref": 200}}]}],
            "bgp": dict({"peers": list(peers)}, **bgp)}


def communities(*values):
    return struct.pack(">BBB%dI" % len(values), 0xc0, 8, 4 * len(values), *values)


def med(value):
    return struct.pack(">BBBI", 0x80, 4, 4, value)


def routes(speaker):
    """{prefix: {type: value}} of the announced routes that were not withdrawn."""
    found = {}
    for _, kind, b in speaker.messages:
        if kind != UPDATE:
            continue
        n = struct.unpack(">H", b[:2])[0]
        end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
        for p, _, _ in nlri_of(b[2:2 + n]):
            found.pop(p, None)
        for p, _, _ in nlri_of(b[end:]):
            found[p] = dict(attributes(b[4 + n:end]))
    return found


def numbers(value):
    return struct.unpack(">%dI" % (len(value) // 4), value)


BIRD = """
router id 192.0.2.2;
protocol device { }
protocol bgp keel {
  local 192.0.2.2 port 1790 as 64601; neighbor 192.0.2.1 port 179 as 64512; multihop; connect delay time 1;
  ipv4 { import all; export none; };
}
"""


class PassedOn(KeelTest):
    def up(self, *addresses):
        """Speakers that answer a ROUTE-REFRESH with all that say() has said."""
        found = [self.speak(address=a, asn=ASN[a], families=(V4,)) for a in addresses]
        for s in found:
            s.said = {}
            s.again = lambda afi, safi, s=s: self.say_again(s, afi, safi)
        return found

    @staticmethod
    def say_again(speaker, afi, safi):
        speaker.send(REFRESH, afi + b"\1" + safi)
        for body in list(speaker.said.values()):
            speaker.send(UPDATE, body)
        speaker.send(REFRESH, afi + b"\2" + safi)

    def say(self, speaker, prefix, more=b"", asns=None):
        n = ipaddress.ip_network(prefix)
        internal = b"\x40\5\4\0\0\0\x64" if speaker.asn == 64512 else b""
        asns = asns or ((speaker.asn,) if not internal else (64700,))
        speaker.said[prefix] = update_of(V4, HOP, asns, nlri(V4, str(n.network_address), n.prefixlen), internal + more)
        speaker.send(UPDATE, speaker.said[prefix])

    def loc(self):
        return {r["prefix"]: r for r in self.keel.call("rib.routes", {"family": V4, "view": "loc"})["routes"]}

    def family(self, address):
        return self.keel.call("bgp.peers", {"peer": address})["peers"][0]["families"][V4]

    def preferences(self, want):
        self.wait("preferences %s" % want, lambda: {p: r.get("local_pref") for p, r in self.loc().items()} == want)

    def effects(self, *peers, **bgp):
        return {(e["address"], e["direction"], e["effect"]) for e in self.keel.commit({"bgp": dict({"peers": list(peers)}, **bgp)}) if e["family"] == V4}

    def test_graceful_shutdown_is_honoured(self):
        """After the import policy, which sets a preference and removes the community; by a replay of kept routes when the key changes."""
        keep = {"keep_all_routes": True}
        on = peer(A, graceful_shutdown={"honour": True}, family=keep)
        self.start(document(on))
        a, = self.up(A)
        self.say(a, "20.0.0.0/24")
        self.say(a, "20.0.1.0/24", communities(SHUTDOWN))
        self.say(a, "20.0.2.0/24", med(7) + communities(7, SHUTDOWN))
        self.say(a, "20.0.3.0/25", communities(SHUTDOWN))  # refused by the policy all the same
        low = {"20.0.0.0/24": 200, "20.0.1.0/24": 0, "20.0.2.0/24": 0}
        self.preferences(low)
        fate = self.keel.call("rib.fate", {"family": V4, "prefix": "20.0.2.0/24"})["paths"][0]["import"]
        self.assertEqual((fate["policy"], fate["node"]), ("in", 10))
        self.assertIn("local_pref", fate["changed"])
        off = peer(A, family=keep)
        self.effects(off)
        self.preferences({"20.0.0.0/24": 200, "20.0.1.0/24": 200, "20.0.2.0/24": 200})
        self.effects(on)
        self.preferences(low)
        # an unrelated commit applies nothing anew
        self.assertLessEqual({e for _, _, e in self.effects(dict(on, description="x"))}, {"none"})
        self.assertEqual(self.keel.call("bgp.peers")["peers"][0]["established_count"], 1)

    def test_graceful_shutdown_is_sent(self):
        """Of one session: the routes to the peer have the community once, its own routes get LOCAL_PREF 0. Of the router: all sessions."""
        peers = [peer(A), peer(B), peer(INSIDE)]
        self.start(document(*peers, networks=[{"prefix": "10.0.0.0/24"}]))
        a, b, inside = self.up(A, B, INSIDE)
        self.say(a, "20.0.0.0/24", communities(5, NO_EXPORT - 0x100))
        self.say(b, "20.0.1.0/24", communities(SHUTDOWN, 5))
        self.say(inside, "20.0.2.0/24")

        def shutting(speaker):
            return {p: numbers(r[8]).count(SHUTDOWN) if 8 in r else 0 for p, r in routes(speaker).items()}

        def preferred():
            return {p: numbers(r[5])[0] for p, r in routes(inside).items()}
        self.wait("all routes", lambda: len(routes(a)) == 3 and len(routes(b)) == 3 and len(routes(inside)) == 3)
        self.assertEqual(shutting(b), {"10.0.0.0/24": 0, "20.0.0.0/24": 0, "20.0.2.0/24": 0})
        effects = self.effects(peers[0], peer(B, graceful_shutdown={"send": True}), peers[2])
        self.assertIn((B, "export", "readvertised"), effects)
        self.wait("the community", lambda: shutting(b) == {"10.0.0.0/24": 1, "20.0.0.0/24": 1, "20.0.2.0/24": 1})
        self.wait("the lowest preference", lambda: self.loc().get("20.0.1.0/24", {}).get("local_pref") == 0)
        self.wait("... inside", lambda: preferred() == {"10.0.0.0/24": 100, "20.0.0.0/24": 200, "20.0.1.0/24": 0})
        self.assertEqual(shutting(a), {"10.0.0.0/24": 0, "20.0.1.0/24": 1, "20.0.2.0/24": 0})
        effects = self.effects(*peers, graceful_shutdown=True)
        self.assertIn((A, "export", "readvertised"), effects)
        self.wait("the community", lambda: set(shutting(a).values()) == {1} and set(shutting(b).values()) == {1})
        self.wait("the lowest preference", lambda: set(preferred().values()) == {0})
        self.effects(*peers, graceful_shutdown=False)
        self.wait("the end", lambda: set(shutting(b).values()) == {0} and preferred()["10.0.0.0/24"] == 100)
        self.assertEqual({p["established_count"] for p in self.keel.call("bgp.peers")["peers"]}, {1})

    def test_blackholes(self):
        """Long prefixes inside of what the peer may announce; others with the community are refused. Without the key the community is none."""
        on = peer(A, family={"blackhole": {"prefix_list": "theirs"}})
        self.start(document(on, peer(B), peer(INSIDE)))
        a, b, inside = self.up(A, B, INSIDE)
        self.say(a, "20.0.0.1/32", communities(BLACKHOLE))
        self.say(a, "20.0.1.0/24")  # without the community: by policy
        self.say(a, "20.0.2.1/32")
        for prefix in ("20.0.3.0/24", "20.1.0.1/32", "20.0.9.1/32"):  # too short; of others, twice
            self.say(a, prefix, communities(7, BLACKHOLE))
        self.say(b, "20.0.4.0/24", communities(BLACKHOLE))
        self.say(b, "20.0.4.1/32", communities(BLACKHOLE))
        self.wait("the refusals", lambda: self.family(A)["refused"] == {"blackhole": 3, "policy": 1} and self.family(B)["refused"] == {"policy": 1})
        self.wait("the routes", lambda: set(self.loc()) == {"20.0.0.1/32", "20.0.1.0/24", "20.0.4.0/24"})
        route = self.loc()["20.0.0.1/32"]
        self.assertEqual((route["next_hop"], route["communities"]), ("discard", ["blackhole", "no-export"]))
        self.assertEqual(self.loc()["20.0.4.0/24"]["next_hop"], HOP)
        self.assertEqual((self.family(A)["blackholed_total"], "blackholed_total" in self.family(B)), (1, False))
        self.wait("the internal peer has it", lambda: set(routes(inside)) == {"20.0.0.1/32", "20.0.1.0/24", "20.0.4.0/24"})
        self.wait("the external peer has one route", lambda: set(routes(b)) == {"20.0.1.0/24"})
        fate = self.keel.call("rib.fate", {"family": V4, "prefix": "20.0.3.0/24"})
        self.assertEqual([(r["peer"], r["cause"]) for r in fate["refused"]], [(A, "blackhole")])
        self.assertFalse([x for x in self.keel.call("system.info")["alarms"] if x["kind"] == "routes-refused"])
        # a shorter length, and the other community
        self.effects(peer(A, family={"blackhole": {"prefix_list": "theirs", "min_length": 24, "community": "no-advertise"}}), peer(B), peer(INSIDE))
        self.wait("the shorter one", lambda: self.loc().get("20.0.3.0/24", {}).get("next_hop") == "discard")
        self.assertIn("no-advertise", self.loc()["20.0.3.0/24"]["communities"])
        self.assertNotIn("20.0.3.0/24", routes(inside))

    def test_blackholes_above_a_limit(self):
        """A blackhole above the limit of prefixes is not stored, and counts as prefix-limit alone."""
        limited = peer(A, family={"blackhole": {"prefix_list": "theirs"}, "max_prefixes": {"limit": 1, "action": "discard"}})
        self.start(document(limited))
        a, = self.up(A)
        self.say(a, "20.0.0.1/32", communities(BLACKHOLE))
        self.say(a, "20.0.0.2/32", communities(BLACKHOLE))
        self.wait("the limit", lambda: self.family(A)["refused"] == {"prefix-limit": 1})
        self.assertEqual(set(self.loc()), {"20.0.0.1/32"})
        self.assertEqual(self.family(A)["blackholed_total"], 1)

    def test_keys_that_do_not_fit(self):
        self.start(document(peer(A)))

        def faults(p):
            self.keel.call("config.edit", {"merge": {"bgp": {"peers": [p]}}})
            return [(e["path"].split("/bgp/peers/0")[1], e["reason"]) for e in self.keel.call("config.validate")["errors"]]
        hole = {"blackhole": {"prefix_list": "theirs"}}
        where = "/families/" + V4 + "/blackhole"
        self.assertEqual(faults(peer(INSIDE, family=hole)), [(where, "only valid for an external peer")])
        self.assertEqual(faults(peer(A, family={"blackhole": {"prefix_list": "none"}})), [(where + "/prefix_list", "there is no prefix list \"none\"")])
        self.assertEqual(faults(peer(A, family={"blackhole": {"prefix_list": "theirs", "min_length": 33}})),
                         [(where + "/min_length", "33 is longer than an address (32)")])
        self.assertEqual(faults(dict(peer(A), families={V6: dict(BOTH, blackhole={"prefix_list": "theirs", "min_length": 64})})), [])
        self.assertEqual(faults(peer(INSIDE, route_server_client=True)), [("/route_server_client", "only valid for an external peer (RFC 7947)")])

    def test_clients_of_a_route_server(self):
        """AS path, next hop and MED as received; other peers get them as usual. A change of the key resets nothing."""
        self.start(document(peer(A), peer(B, route_server_client=True), networks=[{"prefix": "10.0.0.0/24"}]))
        a, b = self.up(A, B)
        self.say(a, "20.0.0.0/24", med(77), (64601, 64700))
        self.say(b, "20.0.1.0/24", med(78), (64602, 64701))

        def seen(speaker, prefix):
            r = routes(speaker).get(prefix)
            return r and (numbers(r[2][2:]) if r[2] else (), str(ipaddress.ip_address(r[3])), numbers(r[4]) if 4 in r else None)
        self.wait("at the client", lambda: seen(b, "20.0.0.0/24") == ((64601, 64700), HOP, (77,)))
        self.wait("our own", lambda: seen(b, "10.0.0.0/24") == ((), "192.0.2.1", None))
        self.wait("at the other peer", lambda: seen(a, "20.0.1.0/24") == ((64512, 64602, 64701), "192.0.2.1", None))
        effects = self.effects(peer(A, route_server_client=True), peer(B))
        self.assertEqual({e for e in effects if e[1] == "export"}, {(A, "export", "readvertised"), (B, "export", "readvertised")})
        self.wait("no client", lambda: seen(b, "20.0.0.0/24") == ((64512, 64601, 64700), "192.0.2.1", None))
        self.wait("a client", lambda: seen(a, "20.0.1.0/24") == ((64602, 64701), HOP, (78,)))

    def alarms(self):
        return [x["text"] for x in self.keel.call("system.info")["alarms"] if x["kind"] == "max-prefixes-out"]

    def test_limit_of_advertised_prefixes(self):
        def limited(action):
            return peer(B, family={"max_prefixes_out": {"limit": 4, "action": action, "threshold_percent": 75}})
        self.start(document(peer(A), limited("warning")))
        a, b = self.up(A, B)
        for n in range(3):
            self.say(a, "20.0.%d.0/24" % n)
        self.wait("the alarm of the threshold", lambda: self.alarms() == ["peer %s %s gets 75 %% of max_prefixes_out 4 or more" % (B, V4)])
        for n in range(3, 6):
            self.say(a, "20.0.%d.0/24" % n)
        self.wait("all routes", lambda: len(routes(b)) == 6)
        self.wait("the alarm", lambda: self.alarms() == ["peer %s %s gets more than max_prefixes_out 4" % (B, V4)])
        limit = self.family(B)["max_prefixes_out"]
        self.assertEqual(limit, {"limit": 4, "action": "warning", "threshold_percent": 75, "exceeded": True, "exceeded_total": 1})
        for n in range(3, 6):
            a.send(UPDATE, struct.pack(">H", 4) + nlri(V4, "20.0.%d.0" % n) + b"\0\0")
        self.wait("three routes", lambda: len(routes(b)) == 3 and not self.family(B)["max_prefixes_out"]["exceeded"])
        self.effects(peer(A), limited("shutdown"))
        self.say(a, "20.0.3.0/24")
        self.wait("four routes", lambda: len(routes(b)) == 4)
        self.say(a, "20.0.4.0/24")
        self.wait("the end", b.closed)
        self.assertEqual(len(routes(b)), 4)  # number five was never sent
        self.assertEqual([m[2][:2] for m in b.messages if m[1] == NOTIFICATION][:1], [b"\6\2"])
        self.assertTrue(self.keel.call("bgp.peers", {"peer": B})["peers"][0]["held"])
        self.assertEqual(len(self.alarms()), 1)
        self.await_logged(r"max-prefixes-out peer=192\.0\.2\.3 vrf=default family=ipv4-unicast advertised=5 limit=4 action=shutdown")
        # a higher limit starts the session
        self.effects(peer(A), peer(B, family={"max_prefixes_out": {"limit": 9, "action": "shutdown"}}))
        b, = self.up(B)
        self.wait("five routes", lambda: len(routes(b)) == 5)
        self.wait("no alarm", lambda: not self.alarms())

    def test_limit_of_advertised_prefixes_among_others(self):
        """Routes of the peer itself do not count; one message with too many prefixes, and a table before the session, never bring the peer more than
        the limit; other peers get all routes."""
        limited = peer(B, family={"max_prefixes_out": {"limit": 4, "action": "shutdown"}})
        self.start(document(peer(A), limited, peer(INSIDE)))
        a, b, inside = self.up(A, B, INSIDE)
        for n in range(10):
            self.say(b, "20.1.%d.0/24" % n)
        for n in range(4):
            self.say(a, "20.0.%d.0/24" % n)
        self.wait("all routes", lambda: len(routes(b)) == 4 and len(routes(inside)) == 14)
        self.assertFalse(self.family(B)["max_prefixes_out"]["exceeded"])
        a.send(UPDATE, update_of(V4, HOP, (ASN[A],), b"".join(nlri(V4, "20.2.%d.0" % n) for n in range(50))))
        self.wait("the end", b.closed)
        self.assertEqual(len(routes(b)), 4)
        # the routes of the peer left with its session
        self.wait("all routes elsewhere", lambda: len(routes(inside)) == 54)
        # the table is there before the session
        self.keel.call("bgp.reset", {"family": V4, "scope": "peer", "peer": B, "force": True})
        b = Speaker(self.namespace, address=B, asn=ASN[B], families=(V4,))
        self.addCleanup(b.close)
        self.wait("the end", b.closed)
        self.assertEqual(([m[2][:2] for m in b.messages if m[1] == NOTIFICATION][:1], routes(b)), ([b"\6\2"], {}))
        self.assertEqual({p["address"]: p["established_count"] for p in self.keel.call("bgp.peers")["peers"]}[A], 1)

    def test_limit_while_routes_change_places(self):
        """A commit that advertises four routes in the place of four others stays within the limit of four."""
        def lists(first):
            return [{"name": "out", "entries": [{"action": "permit", "prefix": "20.0.%d.0/24" % n} for n in range(first, first + 4)]}]
        policy = [{"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "out"}}]}]
        limited = peer(B, family={"export_policy": "out", "max_prefixes_out": {"limit": 4, "action": "shutdown"}})
        doc = document(peer(A), limited)
        doc["route_policies"] += policy
        doc["prefix_lists"] += lists(0)
        self.start(doc)
        a, b = self.up(A, B)
        for n in range(8):
            self.say(a, "20.0.%d.0/24" % n)
        self.wait("four routes", lambda: len(routes(b)) == 4)
        for first in (4, 0, 2, 1):
            doc["prefix_lists"][-1] = lists(first)[0]
            self.keel.commit({"prefix_lists": doc["prefix_lists"]})
            self.wait("the other four", lambda: set(routes(b)) == {"20.0.%d.0/24" % n for n in range(first, first + 4)} or b.closed())
            self.assertFalse(b.closed(), self.keel.logged()[-600:])

    def test_bird(self):
        """BIRD as a client of the route server, before maintenance: the path of the origin, its next hop, and the community."""
        self.start(document(peer(A, route_server_client=True, graceful_shutdown={"send": True}), peer(B)))
        file, socket = (os.path.join(self.folder, "bird." + end) for end in ("conf", "ctl"))
        with open(file, "w") as f:
            f.write(BIRD)
        bird = subprocess.Popen(["ip", "netns", "exec", self.namespace, "bird", "-f", "-c", file, "-s", socket])
        self.addCleanup(lambda: (bird.terminate(), bird.wait(WAIT_S)))
        b, = self.up(B)
        self.say(b, "20.0.0.0/24", med(78) + communities(64602 << 16 | 5), (64602, 64701))

        def lines():
            out = subprocess.run(["birdc", "-s", socket, "show", "route", "for", "20.0.0.0/24", "all"], capture_output=True, text=True).stdout
            return {line.strip() for line in out.splitlines()}
        want = {"BGP.as_path: 64602 64701", "BGP.next_hop: " + HOP, "BGP.med: 78", "BGP.community: (64602,5) (65535,0)"}
        self.wait("the route at BIRD", lambda: want <= lines())


if __name__ == "__main__":
    main()
