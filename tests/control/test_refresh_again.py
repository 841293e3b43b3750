#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A peer that asks for its routes again after the BoRR of an answer, while the answer has no route yet, gets a second answer with its own BoRR and EoRR (RFC 7313 4).
Needs root (a network namespace); else the exit status is 77.

usage: test_refresh_again.py KEELD
"""
import ipaddress
import os
import struct
import time

import keel_rig
from keel_rig import AFI_SAFI, REFRESH, THEM, UPDATE, US, V4, WAIT_S, KeelTest, nlri, update_of

ROUTES, PACKED = int(os.environ.get("ROUTES", 200000)), 500
OTHER = "192.0.2.3"
REQUEST, BEGIN, END = 0, 1, 2


def document():
    families = {V4: {"import_policy": "accept-all", "export_policy": "some"}}
    return {
        "router": {"asn": 64512, "router_id": US},
        "prefix_lists": [{"name": "many", "entries": [{"action": "permit", "prefix": "16.0.0.0/4", "le": 32}]}],
        "route_policies": [{"name": "some", "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": "many"}}, {"seq": 20, "action": "permit"}]}],
        "bgp": {"next_hop_tracking": False, "peers": [{"address": a, "asn": n, "passive": True, "families": families} for a, n in ((THEM, 64513), (OTHER, 64514))]}}


class RefreshAgain(KeelTest):
    def test_a_request_after_borr(self):
        self.start(document())
        them, other = self.speak(), self.speak(address=OTHER, asn=64514)
        first = ipaddress.ip_address("16.0.0.0")
        for at in range(0, ROUTES, PACKED):
            them.send(UPDATE, update_of(V4, THEM, (64513,), b"".join(nlri(V4, first + 256 * i) for i in range(at, at + PACKED))))
        them.announce("172.16.0.0")
        self.wait("all routes", lambda: self.keel.peer()["families"][V4]["accepted"] == ROUTES + 1)
        self.wait("the permitted route", lambda: other.table() == {"172.16.0.0/24"}, other.changed)
        ask = struct.pack(">HBB", AFI_SAFI[V4][0], REQUEST, AFI_SAFI[V4][1])

        def count(subtype):
            return sum(t >= begun and kind == REFRESH and body[2] == subtype for t, kind, body in list(other.messages))
        early = False
        for _ in range(20):  # a busy machine may give the test no CPU until the answer has ended
            begun = time.monotonic()
            other.send(REFRESH, ask)
            with other.changed:
                self.assertTrue(other.changed.wait_for(lambda: count(BEGIN) == 1, WAIT_S), "no BoRR")
            early = count(END) == 0
            other.send(REFRESH, ask)
            with other.changed:
                self.assertTrue(other.changed.wait_for(lambda: count(END) == 2, WAIT_S), "BoRR, EoRR: %d, %d" % (count(BEGIN), count(END)))
            self.assertEqual((count(BEGIN), count(END)), (2, 2))
            if early:
                break
        self.assertTrue(early, "the second request came after the end of the answer: more routes are necessary")


if __name__ == "__main__":
    keel_rig.main()
