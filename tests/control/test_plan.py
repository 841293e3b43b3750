#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keel-policy(7) rules 13 and 14, against a real keeld: a commit withdraws no route of the new configuration, in any order of the peers' answers,
and announces no route twice. ROUTES (5,000), DELAY_S (1) until an asked peer answers, RIB_THREADS, FAMILY (ipv4-unicast, vpnv4-unicast). Needs root; else the
exit status is 77.

usage: test_plan.py KEELD [Plan.TEST...]
"""
import json
import os
import socket
import struct
import threading
import time

import keel_rig
from keel_rig import AFI_SAFI, FAMILY, LABELS, REFRESH, THEM, UPDATE, US, V6, VPN, KeelTest, Speaker, end_of_rib, nlri, update_of

OTHER, RECEIVER, MARKING = "192.0.2.3", "192.0.2.50", "192.0.2.51"
MARKER = "10.0.99.0/24"
ROUTES = int(os.environ.get("ROUTES", 5000))
DELAY_S = float(os.environ.get("DELAY_S", 1))
NETWORKS = [socket.inet_ntoa(struct.pack(">I", 0x14000000 + (i << 8))) for i in range(ROUTES)]
PREFIXES = {n + "/24" for n in NETWORKS}
FRAMED, UNFRAMED, ENDLESS = "BoRR and EoRR", "End-of-RIB", "nothing"


class Transit(Speaker):
    """Announces the whole table; answers a ROUTE-REFRESH after `delay_s`, and ends the answer according to `end`."""
    delay_s = 0
    end = FRAMED

    def table_said(self):
        for i in range(0, ROUTES, 250):
            self.send(UPDATE, update_of(FAMILY, self.address, (self.asn,), b"".join(nlri(FAMILY, n) for n in NETWORKS[i:i + 250])))

    def again(self, afi, safi):
        threading.Thread(target=self.answer, args=(afi, safi), daemon=True).start()

    def answer(self, afi, safi):
        with self.changed:
            self.changed.wait_for(self.closed, self.delay_s)
        try:
            if self.end == FRAMED:
                self.send(REFRESH, afi + b"\1" + safi)
            if afi + safi == struct.pack(">HB", *AFI_SAFI[FAMILY]):
                self.table_said()
            if self.end == FRAMED:
                self.send(REFRESH, afi + b"\2" + safi)
            elif self.end == UNFRAMED:
                self.send(UPDATE, end_of_rib(FAMILY))
        except OSError:
            pass


def tagged(tag, permit=True, local_pref=100):
    if not permit:
        return [{"seq": 10, "action": "deny"}]
    return [{"seq": 10, "action": "permit", "set": {"local_pref": local_pref, "communities": {"add": ["64512:%d" % tag]}}}]


def policies(**nodes):
    return [{"name": n.replace("_", "-"), "nodes": v} for n, v in nodes.items()]


def matched(tag):
    """Nodes that permit the marker and the routes with this tag."""
    return [{"seq": 5, "action": "permit", "match": {"prefix_list": "marker"} if VPN else {"source": "network"}},
            {"seq": 10, "action": "permit", "match": {"community_list": "tag%d" % tag}}]


class Plan(KeelTest):
    marked = False

    def begin(self, keep, end=FRAMED, delay_s=DELAY_S, order=(THEM, OTHER), nodes=None, refresh=True, **bgp):
        families = {THEM: "in-a", OTHER: "in-b"}
        peers = [{"address": a, "asn": 64513 if a == THEM else 64514, "passive": True,
                  "capabilities": {"route_refresh": refresh, "enhanced_route_refresh": end == FRAMED},
                  "families": {FAMILY: {"import_policy": families[a], "keep_all_routes": keep}}} for a in order]
        peers.append({"address": RECEIVER, "asn": 64515, "passive": True, "families": {FAMILY: {"export_policy": "out", **LABELS}, V6: {"export_policy": "deny-all"}}})
        if VPN:
            peers.append({"address": MARKING, "asn": 64516, "passive": True, "families": {FAMILY: {"import_policy": "accept-all"}}})
        self.start({"router": {"asn": 64512, "router_id": US},
                    "prefix_lists": [{"name": "marker", "entries": [{"action": "permit", "prefix": MARKER}]}],
                    "community_lists": [{"name": "tag%d" % i, "entries": [{"action": "permit", "community": "64512:%d" % i}]} for i in (1, 2)],
                    "route_policies": nodes, "bgp": dict({"next_hop_tracking": False, "peers": peers}, **bgp)})
        self.transit = {a: self.join(a, asn, end, delay_s) for a, asn in ((THEM, 64513), (OTHER, 64514))}
        self.receiver = self.speak(address=RECEIVER, asn=64515)
        self.marking = self.speak(address=MARKING, asn=64516) if VPN else None
        self.wait("the first table", lambda: self.receiver.table() == PREFIXES, self.receiver.changed)

    def join(self, address, asn, end, delay_s):
        for _ in range(100):
            s = Transit(self.namespace, address=address, asn=asn)
            s.end, s.delay_s = end, delay_s
            self.addCleanup(s.close)
            if s.established():
                break
        s.table_said()
        s.send(UPDATE, end_of_rib(FAMILY))
        # with kept routes, refused routes count as received, too
        self.wait("its routes", lambda: max(self.family(address)[c] for c in ("received", "rejected_total")) >= ROUTES)
        return s

    def family(self, address):
        return [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == address][0]["families"][FAMILY]

    def moved(self, merge, announced):
        """Commits; counts the withdrawals and announcements of each prefix until the jobs and the plan have ended."""
        since = time.monotonic()
        effects = self.keel.commit(merge)
        self.wait_jobs(effects)
        self.wait("the plan's end", lambda: not self.keel.call("system.info")["commit_plan"]["running"])
        self.caught_up()
        updates = self.receiver.updates(since)
        gone = sum(len(u[1] & PREFIXES) for u in updates)
        said = sum(len(u[2] & PREFIXES) for u in updates)
        self.assertEqual((gone, said), (0, announced), effects)
        self.assertEqual(self.receiver.table() & PREFIXES, PREFIXES)
        self.assertEqual({p["established_count"] for p in self.keel.call("bgp.peers")["peers"]}, {1})

    def caught_up(self):
        """Waits until all changes so far have arrived: the network of the marker follows them in the journal. A VPN family has no networks."""
        self.marked = not self.marked
        since = time.monotonic()
        if VPN:
            (self.marking.announce if self.marked else self.marking.withdraw)(MARKER.split("/")[0])
        else:
            self.keel.commit({"bgp": {"networks": [{"prefix": MARKER}] if self.marked else []}})
        self.wait("the marker", lambda: MARKER in self.receiver.told(since)[0 if self.marked else 1], self.receiver.changed)

    def renamed(self, keep, **how):
        out = dict(in_a=tagged(1), in_b=tagged(1, local_pref=90), out=matched(1))
        self.begin(keep, nodes=policies(**out), **how)
        self.moved({"route_policies": policies(in_a=tagged(2), in_b=tagged(2, local_pref=90), out=matched(2))}, ROUTES)

    def test_a_tag_renamed_kept(self):
        self.renamed(True)

    def test_a_tag_renamed_asked(self):
        self.renamed(False)

    def test_a_tag_renamed_asked_without_enhanced_refresh(self):
        self.renamed(False, end=UNFRAMED)

    def from_a_to_b(self, keep, **how):
        out = [{"seq": 10, "action": "permit"}]
        self.begin(keep, nodes=policies(in_a=tagged(1), in_b=tagged(1, False), out=out), **how)
        self.moved({"route_policies": policies(in_a=tagged(1, False), in_b=tagged(1), out=out)}, ROUTES)
        self.moved({"route_policies": policies(in_a=tagged(1), in_b=tagged(1, False), out=out)}, ROUTES)

    def test_from_a_to_b_kept(self):
        self.from_a_to_b(True)

    def test_from_a_to_b_kept_other_order(self):
        self.from_a_to_b(True, order=(OTHER, THEM))

    def test_from_a_to_b_asked(self):
        self.from_a_to_b(False)

    def test_from_a_to_b_asked_other_order(self):
        self.from_a_to_b(False, order=(OTHER, THEM))

    def test_from_a_to_b_asked_without_enhanced_refresh(self):
        self.from_a_to_b(False, end=UNFRAMED)

    def test_the_hold_ends(self):
        """A peer never answers: the removed routes are withdrawn after commit_hold_s."""
        out = [{"seq": 10, "action": "permit"}]
        self.begin(False, nodes=policies(in_a=tagged(1), in_b=tagged(1, False), out=out), commit_hold_s=2)
        self.transit[OTHER].helpful = False
        self.transit[THEM].delay_s = 0
        since = time.monotonic()
        self.keel.commit({"route_policies": policies(in_a=tagged(1, False), in_b=matched(1), out=out)})
        self.wait("the withdrawals", lambda: not self.receiver.table(), self.receiver.changed)
        first = [u for u in self.receiver.updates(since) if u[1]][0]
        self.assertGreater(first[0], since + 1.9)

    def test_a_peer_that_cannot_be_asked_holds_nothing_up(self):
        """No route refresh, no kept routes: the import waits for the next session, the export does not."""
        out = [{"seq": 10, "action": "permit"}]
        self.begin(False, nodes=policies(in_a=tagged(1), in_b=tagged(1, False), out=out), commit_hold_s=3600, refresh=False)
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(in_a=tagged(2), in_b=tagged(1, False),
                                                               out=[{"seq": 10, "action": "permit", "set": {"med": 7}}])})
        self.assertIn("not-applied", [e["effect"] for e in effects])
        self.wait_jobs(effects)
        self.caught_up()
        self.assertEqual(sum(len(u[2] & PREFIXES) for u in self.receiver.updates(since)), ROUTES)

    def tightened(self, keep, sets, refused=()):
        """Commits a list that THEM and the receiver deny, and that OTHER, which answers no request, has in its policy too. Returns the receiver's updates."""
        deny = [{"seq": 3, "action": "deny", "match": {"prefix_list": "odd"}}]
        nodes = {"in_a": deny + tagged(1), "in_b": deny + tagged(1), "out": deny + matched(1)}
        lists = [{"name": "marker", "entries": [{"action": "permit", "prefix": MARKER}]}]
        names = {THEM: "in-a" if keep else "accept", OTHER: "in-b"}
        peers = [{"address": a, "asn": 64513 if a == THEM else 64514, "passive": True,
                  "families": {FAMILY: {"import_policy": names[a], "keep_all_routes": keep and a == THEM}}} for a in (THEM, OTHER)]
        peers.append({"address": RECEIVER, "asn": 64515, "passive": True, "families": {FAMILY: {"export_policy": "any" if keep else "out", **LABELS}}})

        def odd(prefix):
            return {"prefix_lists": lists + [{"name": "odd", "entries": [{"action": "permit", "prefix": prefix}]}]}
        self.start({"router": {"asn": 64512, "router_id": US}, **odd("21.0.9.0/24"),
                    "community_lists": [{"name": "tag1", "entries": [{"action": "permit", "community": "64512:1"}]}],
                    "route_policies": policies(accept=tagged(1), any=[{"seq": 10, "action": "permit"}], **nodes),
                    "bgp": {"next_hop_tracking": False, "commit_hold_s": 3600, "peers": peers}})
        them, other, receiver = (self.speak(address=a, asn=n) for a, n in ((THEM, 64513), (OTHER, 64514), (RECEIVER, 64515)))
        other.helpful = False
        them.announce("21.0.1.0", "21.0.2.0")
        other.announce("21.0.3.0", *refused)
        first = {"21.0.1.0/24", "21.0.2.0/24", "21.0.3.0/24"}
        self.wait("the first table", lambda: receiver.table() == first, receiver.changed)
        if refused:
            self.wait("the refusal", lambda: self.family(OTHER)["rejected_total"] == len(refused))
        since = time.monotonic()
        self.keel.commit(odd("21.0.1.0/24"))
        if sets:
            self.wait("the withdrawal", lambda: receiver.table() == first - {"21.0.1.0/24"}, receiver.changed)
        self.assertTrue(self.keel.call("system.info")["commit_plan"]["running"])
        return receiver, first, since

    def test_an_export_denial_waits_for_no_peer_that_refused_nothing(self):
        receiver, first, since = self.tightened(False, True)
        self.assertEqual(receiver.told(since), (set(), {"21.0.1.0/24"}))

    def test_an_import_denial_waits_for_no_peer_that_refused_nothing(self):
        receiver, first, since = self.tightened(True, True)
        self.assertEqual(receiver.told(since), (set(), {"21.0.1.0/24"}))

    def test_an_export_denial_waits_for_the_last_supplier(self):
        """A peer with a refused route that is kept ends at once; the peer that answers no request has no refused routes."""
        deny, lists = [{"seq": 3, "action": "deny", "match": {"prefix_list": "odd"}}], [{"name": "marker", "entries": [{"action": "permit", "prefix": MARKER}]}]
        peers = [{"address": a, "asn": n, "passive": True, "families": {FAMILY: {"import_policy": p, "keep_all_routes": keep}}}
                 for a, n, p, keep in ((THEM, 64513, "accept", False), (OTHER, 64514, "in-b", False), (MARKING, 64516, "in-b", True))]
        peers.append({"address": RECEIVER, "asn": 64515, "passive": True, "families": {FAMILY: {"export_policy": "out", **LABELS}}})

        def odd(prefix):
            return {"prefix_lists": lists + [{"name": "odd", "entries": [{"action": "permit", "prefix": prefix}]}]}
        self.start({"router": {"asn": 64512, "router_id": US}, **odd("21.0.9.0/24"), "route_policies": policies(
            accept=tagged(1), in_b=deny + tagged(1), out=deny + [{"seq": 10, "action": "permit"}]),
            "bgp": {"next_hop_tracking": False, "commit_hold_s": 3600, "peers": peers}})
        them, other, keeper, receiver = (self.speak(address=a, asn=n) for a, n in ((THEM, 64513), (OTHER, 64514), (MARKING, 64516), (RECEIVER, 64515)))
        other.helpful = False
        them.announce("21.0.1.0", "21.0.2.0")
        other.announce("21.0.3.0")
        keeper.announce("21.0.9.0")
        self.wait("the first table", lambda: receiver.table() == {"21.0.%d.0/24" % n for n in (1, 2, 3)}, receiver.changed)
        self.wait("the refused route", lambda: self.family(MARKING)["kept"] == 1)
        self.keel.commit(odd("21.0.1.0/24"))
        self.wait("the second table", lambda: receiver.table() == {"21.0.%d.0/24" % n for n in (2, 3, 9)}, receiver.changed)
        self.assertTrue(self.keel.call("system.info")["commit_plan"]["running"])

    def test_an_export_denial_waits_for_a_peer_with_refused_routes(self):
        self.waits(False)

    def test_an_import_denial_waits_for_a_peer_with_refused_routes(self):
        self.waits(True)

    def waits(self, keep):
        """The peer may have a route for the prefix: until the plan ends with commit_hold_s."""
        receiver, first, since = self.tightened(keep, False, refused=("21.0.9.0",))
        self.keel.commit({"bgp": {"commit_hold_s": 0}})
        self.wait("the withdrawal", lambda: receiver.table() & first == first - {"21.0.1.0/24"}, receiver.changed)

    def at_limit(self, imports, exports):
        """A commit replaces all routes of a peer that is at its limit. Counts the routes of the peer after each message."""
        x, y = ({"21.0.%d.0/24" % n for n in range(first, 12, 2)} for first in (0, 1))

        def lists(prefixes):
            return [{"name": "these", "entries": [{"action": "permit", "prefix": p} for p in sorted(prefixes)]}]
        these, all_of = [{"seq": 10, "action": "permit", "match": {"prefix_list": "these"}}], [{"seq": 10, "action": "permit"}]
        peers = [{"address": a, "asn": n, "passive": True, "families": {FAMILY: {"import_policy": "in-a", "keep_all_routes": True}}}
                 for a, n in ((THEM, 64513), (OTHER, 64514))]
        peers.append({"address": RECEIVER, "asn": 64515, "passive": True, "families": {FAMILY: dict(
            LABELS, export_policy="out", max_prefixes_out={"limit": len(x), "action": "shutdown"})}})
        self.start({"router": {"asn": 64512, "router_id": US}, "prefix_lists": lists(x),
                    "route_policies": policies(in_a=these if imports else all_of, out=these if exports else all_of),
                    "bgp": {"next_hop_tracking": False, "peers": peers}})
        them, other, receiver = (self.speak(address=a, asn=n) for a, n in ((THEM, 64513), (OTHER, 64514), (RECEIVER, 64515)))
        for p in sorted(x | y):
            them.announce(p.split("/")[0])
            other.announce(p.split("/")[0], asns=(64514, 65000))
        self.wait("the first table", lambda: receiver.table() == x, receiver.changed)
        self.keel.commit({"prefix_lists": lists(y)})
        self.wait("the second table", lambda: receiver.table() == y or receiver.closed(), receiver.changed)
        held, most = set(), 0
        for _, withdrawn, announced in receiver.updates(0):
            held = held - withdrawn | announced
            most = max(most, len(held))
        self.assertEqual((held, most, receiver.closed()), (y, len(x), False))

    def test_a_limit_holds_while_exports_change(self):
        self.at_limit(False, True)

    def test_a_limit_holds_while_imports_change(self):
        self.at_limit(True, False)

    def test_a_limit_holds_while_both_change(self):
        self.at_limit(True, True)

    def test_another_commit_ends_the_hold(self):
        """commit_hold_s 0, while a plan waits for a peer that never answers: the plan ends at once."""
        out = [{"seq": 10, "action": "permit"}]
        self.begin(False, nodes=policies(in_a=tagged(1), in_b=tagged(1, False), out=out), commit_hold_s=3600)
        self.transit[OTHER].helpful = False
        self.transit[THEM].delay_s = 0
        self.keel.commit({"route_policies": policies(in_a=tagged(1, False), in_b=matched(1), out=out)})
        self.assertTrue(self.keel.call("system.info")["commit_plan"]["running"])
        self.keel.commit({"bgp": {"commit_hold_s": 0}})
        self.wait("the plan's end", lambda: not self.keel.call("system.info")["commit_plan"]["running"])
        self.wait("the withdrawals", lambda: not self.receiver.table(), self.receiver.changed)

    def test_the_end_comes_between_the_steps_of_a_commit(self):
        """SIGTERM after a commit: keeld ends in order, and FILE has the old or the new document, consistent with the answer to the client."""
        for i in range(10):
            document = {"router": {"asn": 64512, "router_id": US}, "route_policies": policies(in_a=tagged(1)), "bgp": {"peers": []}}
            keel = keel_rig.Keel(self.namespace, self.folder, document)
            keel.call("config.edit", {"merge": {"route_policies": policies(in_a=tagged(2))}})
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(keel.path)
                s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "config.commit"}).encode() + b"\n")
                keel.stop()  # asserts the exit status
                try:
                    answer = s.makefile().readline()
                except ConnectionResetError:  # keeld ended before it read the request
                    answer = ""
            tag = keel.on_disk()["route_policies"][0]["nodes"][0]["set"]["communities"]["add"][0]
            if answer:
                self.assertEqual(("result" in json.loads(answer), tag), (True, "64512:2"))
            keel.log.close()

    def test_refresh_joins_what_waits(self):
        """5.14: a single walk for the command and for the delayed change."""
        out = [{"seq": 10, "action": "permit"}]
        self.begin(True, nodes=policies(in_a=tagged(1), in_b=tagged(1, False), out=out), policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(in_a=tagged(1), in_b=tagged(1, False),
                                                               out=[{"seq": 10, "action": "permit", "set": {"med": 7}}])})
        job = self.keel.call("bgp.refresh", {"family": FAMILY, "scope": "all", "direction": "export"})["job"]
        self.wait("the command's job", lambda: self.keel.job(job) == "done")
        self.wait_jobs(effects)
        self.caught_up()
        self.assertEqual(sum(len(u[2] & PREFIXES) for u in self.receiver.updates(since)), ROUTES)


if __name__ == "__main__":
    keel_rig.main()
