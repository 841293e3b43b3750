#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Roles and Only to Customer (RFC 9234) in a real keeld: the capability, mismatched roles, and which route reaches which peer with which OTC,
against an oracle of RFC 9234 section 5; BIRD as a customer that requires roles. Needs root; else the exit status is 77.

usage: test_role.py KEELD
"""
import itertools
import os
import struct
import subprocess
import time

from keel_rig import NOTIFICATION, OPEN, UPDATE, V4, WAIT_S, KeelTest, Speaker, attributes, main, nlri, update_of

US_AS = 64512
# our role -> the peer's address, AS number, and role (RFC 9234 4.1)
PEERS = {"provider": ("192.0.2.2", 64601, 3), "customer": ("192.0.2.3", 64602, 0), "peer": ("192.0.2.50", 64603, 4),
         "rs-server": ("192.0.2.51", 64604, 2), "rs-client": ("192.0.2.52", 64605, 1)}
UP = ("customer", "peer", "rs-client")  # our roles towards a provider, a peer, a route server
DOWN = ("provider", "peer", "rs-server")
CODES = {"provider": 0, "rs-server": 1, "rs-client": 2, "customer": 3, "peer": 4}
BOTH = {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}


def document(**more):
    return {"router": {"asn": US_AS, "router_id": "192.0.2.1"},
            "bgp": {"networks": [{"prefix": "10.0.0.0/24"}], "peers": [dict({"address": a, "asn": asn, "passive": True, "families": BOTH, "role": ours}, **more)
                                                                      for ours, (a, asn, _) in PEERS.items()]}}


class RoleSpeaker(Speaker):
    """Announces the Role capability `roles`, each a number."""

    def __init__(self, namespace, roles=(), **how):
        self.roles = roles
        super().__init__(namespace, **how)

    def send(self, kind, body=b""):
        if kind == OPEN and self.roles:
            more = b"".join(bytes([9, 1, r]) for r in self.roles)
            body = body[:9] + bytes([body[9] + len(more), body[10], body[11] + len(more)]) + body[12:] + more
        super().send(kind, body)

    def otc(self):
        """{prefix: OTC or None} of the announced routes that were not withdrawn."""
        found = {}
        for _, kind, b in self.messages:
            if kind != UPDATE:
                continue
            n = struct.unpack(">H", b[:2])[0]
            end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
            value = dict(attributes(b[4 + n:end])).get(35)
            for length, octets in nlri_each(b[2:2 + n]):
                found.pop((octets, length), None)
            for length, octets in nlri_each(b[end:]):
                found[octets, length] = struct.unpack(">I", value)[0] if value else None
        return {"%d.%d.%d.0/%d" % (*o, n): v for (o, n), v in found.items()}


def nlri_each(b):
    while b:
        n = (b[0] + 7) // 8
        yield b[0], tuple(b[1:1 + n].ljust(3, b"\0"))
        b = b[1 + n:]


def network(group, otc):
    return "20.%d.%d.0" % (list(PEERS).index(group), otc)


# what a peer sends as OTC: nothing, its own AS number, that of another
SENT = (None, "own", 65000)


def received(ours, asn, sent):
    """RFC 9234 5: the OTC of a received route; False: the route leaked."""
    if sent is not None and (ours in ("provider", "rs-server") or (ours == "peer" and sent != asn)):
        return False
    return sent if sent is not None else asn if ours in UP else None


def advertised(ours, otc):
    """RFC 9234 5: the OTC towards a peer; False: not advertised."""
    if otc is not None:
        return False if ours in UP else otc
    return US_AS if ours in DOWN else None


# BIRD in the namespace of keeld: a port of its own, because keeld listens at 179 of all addresses.
BIRD = """
router id 192.0.2.2;
protocol device { }
protocol static own { ipv4; route 30.0.0.0/24 blackhole; }
protocol bgp keel {
  local 192.0.2.2 port 1790 as 64601; neighbor 192.0.2.1 port 179 as 64512; multihop; connect delay time 1;
  local role customer; require roles yes;
  ipv4 { import all; export all; next hop address 192.0.2.99; };
}
"""


class Role(KeelTest):
    def open_all(self):
        return {ours: self.speak_role(ours, (theirs,)) for ours, (_, _, theirs) in PEERS.items()}

    def speak_role(self, ours, roles):
        address, asn, _ = PEERS[ours]
        end = time.monotonic() + WAIT_S
        while True:  # keeld closes connections before it has configured its peers, and in idle hold
            s = RoleSpeaker(self.namespace, roles, address=address, asn=asn, families=(V4,))
            self.addCleanup(s.close)
            s.up_at_all = s.established()
            if s.up_at_all or self.mismatched(s):
                return s
            s.close()
            assert time.monotonic() < end, self.keel.logged()

    def peer(self, ours):
        return self.keel.call("bgp.peers", {"peer": PEERS[ours][0]})["peers"][0]

    def test_each_route_reaches_whom_it_may(self):
        self.start(document())
        speakers = self.open_all()
        want = {ours: {"10.0.0.0/24": advertised(ours, None)} for ours in PEERS}
        leaked = dict.fromkeys(PEERS, 0)
        for ours, n in itertools.product(PEERS, range(len(SENT))):
            asn = PEERS[ours][1]
            sent = asn if SENT[n] == "own" else SENT[n]
            more = b"" if sent is None else struct.pack(">BBBI", 0xc0, 35, 4, sent)
            speakers[ours].send(UPDATE, update_of(V4, "192.0.2.99", (asn,), nlri(V4, network(ours, n)), more))
            kept = received(ours, asn, sent)
            leaked[ours] += kept is False
            for to in PEERS:
                otc = advertised(to, kept) if kept is not False else False
                if to != ours and otc is not False:
                    want[to][network(ours, n) + "/24"] = otc
        self.assertEqual(sum(leaked.values()), 5)
        for to in PEERS:
            self.wait("the routes at %s" % to, lambda: speakers[to].otc() == want[to], speakers[to].changed)
        for ours, count in leaked.items():
            self.wait("refusals", lambda: self.peer(ours)["families"][V4]["refused"].get("route-leak", 0) == count)
            self.assertEqual((self.peer(ours)["role"], CODES[self.peer(ours)["peer_role"]]), (ours, PEERS[ours][2]))
        self.assertFalse(any(s.closed() for s in speakers.values()))

    def reset(self, ours):
        self.keel.call("bgp.reset", {"family": V4, "scope": "peer", "peer": PEERS[ours][0], "force": True})

    def mismatched(self, speaker):
        return [b[:2] for _, kind, b in speaker.messages if kind == NOTIFICATION][:1] == [b"\2\x0b"]

    def test_mismatched_roles_end_the_session(self):
        """Each pair of roles but the five of RFC 9234 4.2; a role above 4; two roles that differ. Twice the same role is one role."""
        self.start(document())
        for ours, theirs in itertools.product(PEERS, list(range(5)) + [200]):
            s = self.speak_role(ours, (theirs,))
            self.assertEqual(s.up_at_all, theirs == PEERS[ours][2], (ours, theirs))
            self.assertEqual(self.mismatched(s), not s.up_at_all)
            s.close()
            self.reset(ours)  # no wait before the next attempt
        self.assertFalse(self.speak_role("peer", (4, 3)).up_at_all)
        self.reset("peer")
        self.assertTrue(self.speak_role("peer", (4, 4)).up_at_all)

    def test_strict(self):
        self.start(document(role_strict=True))
        s = self.speak_role("peer", ())
        self.assertTrue(not s.up_at_all and self.mismatched(s))
        s.close()
        self.keel.commit({"bgp": {"peers": [dict(p, role_strict=False) for p in document()["bgp"]["peers"]]}})
        self.reset("peer")
        self.assertTrue(self.speak_role("peer", ()).up_at_all)
        self.assertNotIn("peer_role", self.peer("peer"))

    def test_bird(self):
        """BIRD requires the role of its peer, and gets our routes with OTC."""
        self.start(document())
        file, socket = (os.path.join(self.folder, "bird." + end) for end in ("conf", "ctl"))
        with open(file, "w") as f:
            f.write(BIRD)
        bird = subprocess.Popen(["ip", "netns", "exec", self.namespace, "bird", "-f", "-c", file, "-s", socket])
        self.addCleanup(lambda: (bird.terminate(), bird.wait(WAIT_S)))

        def route():
            return subprocess.run(["birdc", "-s", socket, "show", "route", "for", "10.0.0.0/24", "all"], capture_output=True, text=True).stdout
        self.wait("the route of BIRD", lambda: self.peer("provider")["families"][V4]["received"] == 1)
        self.assertEqual(self.peer("provider")["peer_role"], "customer")
        self.wait("our route at BIRD", lambda: "BGP.otc: %d\n" % US_AS in route())


if __name__ == "__main__":
    main()
