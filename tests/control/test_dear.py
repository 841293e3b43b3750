#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One peer sends routes with much work for the shard. Changes of other peers do not wait for the end of the work. The order of events is compared, not times. Needs
root (network namespaces); else the exit status is 77.

usage: test_dear.py KEELD
"""
import struct

import keel_rig
from keel_rig import UPDATE, V4, VPNV4, KeelTest, end_of_rib, nlri, update_of

DEAR, HONEST, LISTENER = "192.0.2.2", "192.0.2.3", "192.0.2.50"
ACCEPT = {"import_policy": "accept-all", "export_policy": "accept-all"}
EACH = 200  # prefixes of an UPDATE


class Dear(KeelTest):
    def begin(self, families, policy, **more):
        """Sessions of the three peers. All tables have ended, so live changes follow."""
        keys = {f: dict(ACCEPT, import_policy=policy) for f in families}
        self.start(dict({"router": {"asn": 64512, "router_id": "192.0.2.1"}, "bgp": {"next_hop_tracking": False, "peers": [
            {"address": DEAR, "asn": 64513, "passive": True, "families": keys}] + [
            {"address": a, "asn": n, "passive": True, "families": {V4: ACCEPT}} for a, n in ((HONEST, 64514), (LISTENER, 64515))]}}, **more))
        self.dear = self.speak(address=DEAR, families=families)
        self.honest, self.listener = self.speak(address=HONEST, asn=64514, families=(V4,)), self.speak(address=LISTENER, asn=64515, families=(V4,))
        for speaker, its in ((self.dear, families), (self.honest, (V4,)), (self.listener, (V4,))):
            for family in its:
                speaker.send(UPDATE, end_of_rib(family))

    def received(self, family):
        return [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == DEAR][0]["families"][family]["received"]

    def passes(self, family, count):
        """A change of the honest peer arrives before the end of the `count` routes."""
        self.wait("the first of them", lambda: self.received(family) > 0)
        self.honest.announce("20.1.0.0")
        self.wait("the other route", lambda: "20.1.0.0/24" in self.listener.table(), self.listener.changed)
        self.assertLess(self.received(family), count * 3 // 4)
        self.wait("the end", lambda: self.received(family) == count)

    def test_crowd(self):
        """A prefix with thousands of distinguishers, imported by eight instances."""
        count = 8000
        self.begin((V4, VPNV4), "accept-all", vrfs=[{"name": "i%d" % i, "import_targets": ["64512:7"]} for i in range(8)])
        names = [struct.pack(">HHI", 0, 65000, i) for i in range(count)]
        for i in range(0, count, EACH):
            self.dear.send(UPDATE, update_of(VPNV4, DEAR, (64513,), b"".join(nlri(VPNV4, "20.0.0.0", rd=rd) for rd in names[i:i + EACH])))
        self.passes(VPNV4, count)

    def test_policy(self):
        """An import policy that compares each prefix with 10,000 lists."""
        count, lists = 20000, 10000
        self.begin((V4,), "dear", prefix_lists=[{"name": "l%d" % i, "entries": [{"action": "permit", "prefix": "45.0.%d.%d/32" % divmod(i, 250)}]} for i in range(lists)],
                   route_policies=[{"name": "dear", "nodes": [{"seq": i + 1, "action": "deny", "match": {"prefix_list": "l%d" % i}} for i in range(lists)] +
                                    [{"seq": lists + 1, "action": "permit"}]}])
        for i in range(0, count, EACH):
            self.dear.send(UPDATE, update_of(V4, DEAR, (64513,), b"".join(nlri(V4, "20.%d.%d.0" % (2 + n // 250, n % 250)) for n in range(i, i + EACH))))
        self.passes(V4, count)


keel_rig.main()
