#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Site of origin (RFC 4364 7) of peers in a VPN instance, against a real keeld: a site with two links, and BIRD as the CE of another site. Needs
root, and BIRD for one test; else the exit status is 77.

usage: test_site.py KEELD
"""
import os
import shutil
import subprocess
import sys
import time
import unittest

os.environ["VRF"] = "1"

import keel_rig  # noqa: E402
from keel_rig import THEM, UPDATE, US, V4, V6, VRF, WAIT_S, KeelTest, attributes, nlri, update_of  # noqa: E402

SECOND, OTHER, CE = "192.0.2.3", "192.0.2.50", "192.0.2.51"
ASNS = {THEM: 64513, SECOND: 64514, OTHER: 64515, CE: 64516}
SITE = bytes.fromhex("0003fc0000000001")  # soo:64512:1
BIRD = """router id 192.0.2.51;
protocol device { }
protocol bgp keel { local 192.0.2.51 port 1790 as 64516; neighbor 192.0.2.1 port 179 as 64512; multihop; connect delay time 1; ipv4 { import all; export none; }; }
"""


def document(site="soo:64512:1", **more):
    def families(address):
        own = {"site_of_origin": site} if site and address in (THEM, SECOND) else {}
        return {f: dict({"import_policy": "accept-all", "export_policy": "accept-all"}, **own, **more) for f in (V4, V6)}
    return {"router": {"asn": 64512, "router_id": US},
            "bgp": {"next_hop_tracking": False, "peers": [{"address": a, "asn": n, "passive": True, "families": families(a)} for a, n in ASNS.items()]}}


def communities(speaker, prefix):
    """The extended communities of the last announcement of an IPv4 prefix."""
    found = [dict(attributes(b[4:len(b) - len(nlri(V4, prefix))])).get(16) for _, kind, b in speaker.messages if kind == UPDATE and b.endswith(nlri(V4, prefix))]
    return found[-1]


class Site(KeelTest):
    def begin(self, *addresses, **how):
        self.start(document(**how))
        self.speakers = {a: self.speak(address=a, asn=ASNS[a]) for a in addresses}

    def arrives(self, address, *prefixes):
        s = self.speakers[address]
        self.wait("the routes", lambda: s.table() == set(prefixes), s.changed)

    def test_a_site_with_two_links(self):
        """Routes of a site reach the other site with the community, and not the second link; also when another PE adds the community."""
        self.begin(THEM, SECOND, OTHER)
        first = self.speakers[THEM]
        first.announce("20.0.0.0")
        self.arrives(OTHER, "20.0.0.0/24")
        self.assertEqual(communities(self.speakers[OTHER], "20.0.0.0"), SITE)
        # after the community of another site, the same announcement twice: one community
        more = b"\xc0\x10\x10" + SITE[:7] + b"\x02" + SITE
        self.speakers[OTHER].send(UPDATE, update_of(V4, OTHER, (64515,), nlri(V4, "21.0.0.0"), more))
        self.speakers[OTHER].announce("22.0.0.0")
        self.arrives(SECOND, "22.0.0.0/24")  # 21.0.0.0/24, announced before, has the site of the peer
        self.arrives(THEM, "22.0.0.0/24")
        fate = self.keel.answer("rib.fate", {"family": V4, "vrf": VRF, "prefix": "20.0.0.0/24"})["result"]
        self.assertIn("site-of-origin", str(fate))
        # IPv6 routes in MP_REACH_NLRI
        first.send(UPDATE, update_of(V6, "2001:db8::2", (64513,), nlri(V6, "2001:db8:20::", 48)))
        self.arrives(OTHER, "20.0.0.0/24", "2001:db8:20::/48")
        self.arrives(SECOND, "22.0.0.0/24")
        shown = self.keel.call("rib.routes", {"family": V6, "view": "loc"})["routes"]
        self.assertEqual([r["ext_communities"] for r in shown], [["soo:64512:1"]])

    def test_a_changed_site_resets_the_session(self):
        self.begin(THEM, SECOND, site=None)
        self.speakers[THEM].announce("20.0.0.0")
        self.arrives(SECOND, "20.0.0.0/24")
        effects = self.keel.commit({"bgp": document()["bgp"]})
        self.assertEqual({(e["address"], e["effect"], e["reason"]) for e in effects}, {(a, "session-reset", "configuration-change") for a in (THEM, SECOND)})
        for s in self.speakers.values():
            self.wait("the end of the session", s.closed, s.changed)
        self.speakers = {a: self.speak(address=a, asn=ASNS[a]) for a in (THEM, SECOND)}
        since = time.monotonic()
        self.speakers[THEM].announce("20.0.0.0")
        self.speakers[SECOND].announce("23.0.0.0")
        self.wait("the routes", lambda: {r["prefix"] for r in self.keel.call("rib.routes", {"family": V4, "view": "loc"})["routes"]} == {"20.0.0.0/24", "23.0.0.0/24"})
        self.keel.commit({"bgp": {"networks": [{"prefix": "10.0.99.0/24"}]}})  # follows them in the journal
        self.arrives(SECOND, "10.0.99.0/24")
        self.assertEqual(self.speakers[SECOND].told(since), ({"10.0.99.0/24"}, set()))

    @unittest.skipUnless(shutil.which("bird"), "no bird")
    def test_bird(self):
        self.begin(THEM)
        self.speakers[THEM].announce("20.0.0.0")
        file, socket = (os.path.join(self.folder, "bird." + end) for end in ("conf", "ctl"))
        with open(file, "w") as f:
            f.write(BIRD)
        bird = subprocess.Popen(["ip", "netns", "exec", self.namespace, "bird", "-f", "-c", file, "-s", socket])
        self.addCleanup(lambda: (bird.terminate(), bird.wait(WAIT_S)))

        def route():
            return subprocess.run(["birdc", "-s", socket, "show", "route", "for", "20.0.0.0/24", "all"], capture_output=True, text=True).stdout
        self.wait("the route at BIRD", lambda: "BGP.ext_community: (ro, 64512, 1)" in route())


if __name__ == "__main__":
    keel_rig.main()
