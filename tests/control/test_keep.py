#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keel-policy(7) rules 1 to 5, 7 and 8: kept routes, replays, effects reported by a commit compared with the messages on the wire, against a real
keeld. Needs root (a network namespace); else the exit status is 77. FAMILY: ipv4-unicast (default) or vpnv4-unicast.

usage: test_keep.py KEELD [Keep.TEST...]
"""
import json
import time

import keel_rig
from keel_rig import AFI_SAFI, FAMILY, LABELS, THEM, US, V6, VPN, KeelTest, unhurried

OTHER, MARKING = "192.0.2.3", "192.0.2.50"
MARKER = "10.0.99.0/24"


def policy(*rejected, local_pref=110, pad=()):
    """The import policy; `pad`: list entries that match no route."""
    return {
        "prefix_lists": [{"name": "bad", "entries": [{"action": "permit", "prefix": p} for p in rejected + pad] or
                          [{"action": "permit", "prefix": "203.0.113.0/24"}]}],
        "route_policies": [{"name": "in", "nodes": [
            {"seq": 10, "action": "deny", "match": {"prefix_list": "bad"}},
            {"seq": 20, "action": "permit", "set": {"local_pref": local_pref}}]}]}


def peers(keep, **keys):
    families = {f: {"import_policy": "in", "export_policy": "accept-all", "keep_all_routes": keep, **LABELS} for f in (FAMILY, V6)}
    other = {"passive": True, "families": {FAMILY: {"import_policy": "accept-all", "export_policy": "accept-all", **LABELS}}}
    return [dict({"address": THEM, "asn": 64513, "passive": True, "families": families}, **keys), dict(other, address=OTHER, asn=64514)] + \
        ([dict(other, address=MARKING, asn=64515)] if VPN else [])


class Keep(KeelTest):
    def begin(self, refresh, keep, *rejected, **bgp):
        self.rejected = rejected
        self.start(dict({"router": {"asn": 64512, "router_id": US}, "bgp": dict({"next_hop_tracking": False, "peers": peers(keep)}, **bgp)}, **policy(*rejected)))
        self.marked = False
        self.them, self.other = self.speak(refresh=refresh), self.speak(address=OTHER, asn=64514)
        self.marking = self.speak(address=MARKING, asn=64515) if VPN else None
        self.them.announce("20.0.0.0", "20.0.1.0", "20.0.2.0")
        self.wait("the first table", lambda: self.other.table() == {"20.0.%d.0/24" % i for i in range(3)} - set(rejected))
        self.established = self.peer()["established_count"]

    def peer(self, address=THEM):
        return [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == address][0]

    def seen(self):
        return self.other.table() - {MARKER}

    def wait(self, what, good, changed=None):
        super().wait(what, good, changed or getattr(self, "other", None) and self.other.changed)

    def caught_up(self):
        """Waits until all changes so far have arrived at both speakers: the network of the marker follows them. A VPN family has no networks."""
        self.marked = not self.marked
        since = time.monotonic()
        if VPN:
            (self.marking.announce if self.marked else self.marking.withdraw)(MARKER.split("/")[0])
        else:
            self.keel.commit({"bgp": {"networks": [{"prefix": MARKER}] if self.marked else []}})
        for s in (self.them, self.other):
            self.wait("the marker", lambda: MARKER in s.told(since)[0 if self.marked else 1])

    def told(self, speaker, since):
        """UPDATEs without the marker."""
        return [u for u in speaker.updates(since) if not u[1] | u[2] <= {MARKER}]

    def imports(self, effects, address=THEM, family=FAMILY):
        return [(e["effect"], e.get("reason")) for e in effects
                if (e["address"], e["family"], e["direction"]) == (address, family, "import")]

    def refresh(self, **more):
        return self.keel.call("bgp.refresh", dict({"family": FAMILY, "scope": "peer", "peer": THEM, "direction": "import"}, **more))

    def untouched(self, since):
        """The session is unchanged, and the peer received no request."""
        self.caught_up()
        self.assertEqual(self.them.requests(since), [])
        self.assertEqual(self.peer()["established_count"], self.established)

    def test_5_3_replays_without_route_refresh(self):
        self.begin(False, True, "20.0.0.0/24")
        events = self.keel.notifications("refresh")
        since = time.monotonic()
        effects = self.keel.commit(policy("20.0.1.0/24"))
        self.assertEqual(self.imports(effects), [("replayed", None)])
        self.assertEqual(self.imports(effects, OTHER), [])
        self.wait_jobs(effects)
        self.wait("what is let in now", lambda: self.seen() == {"20.0.0.0/24", "20.0.2.0/24"})
        self.assertEqual(sorted((e["family"], e["event"], e["direction"], e["job"]) for e in (next(events) for _ in range(4))),
                         sorted((e["family"], event, "import", e["job"]) for e in effects for event in ("begin", "end")))
        self.assertEqual(self.other.told(since), ({"20.0.0.0/24"}, {"20.0.1.0/24"}))
        answer = self.refresh()
        self.assertEqual([(p["action"], p.get("reason")) for p in answer["peers"]], [("replayed", None)])
        self.wait("end of the job", lambda: self.keel.job(answer["job"]) == "done")
        self.untouched(since)

    def test_5_4_no_op_with_route_refresh(self):
        self.begin(True, True, "20.0.0.0/24")
        since = time.monotonic()
        answer = self.refresh()
        self.assertEqual((answer["job"], [(p["action"], p["reason"]) for p in answer["peers"]]), (None, [("no-op", "keep-all-routes")]))
        effects = self.keel.commit(policy())
        self.assertEqual(self.imports(effects), [("replayed", None)])
        self.wait_jobs(effects)
        self.wait("all routes", lambda: self.seen() == {"20.0.%d.0/24" % i for i in range(3)})
        self.untouched(since)

    def in_groups(self, theirs, others, keep):
        """Policies that read the group: a route to or from `strict` must not be bad. The groups are equal otherwise."""
        list_of = policy("20.0.1.0/24")
        nodes = [{"seq": 10, "action": "deny", "match": {"prefix_list": "bad", "peer_group": "strict"}}, {"seq": 20, "action": "permit"}]
        both = dict(peers=[dict(p, group=g) for p, g in zip(peers(keep), (theirs, others, others))], groups=[{"name": "strict"}, {"name": "loose"}])
        for p in both["peers"][1:]:
            p["families"] = {FAMILY: dict(p["families"][FAMILY], export_policy="out")}
        return {"prefix_lists": list_of["prefix_lists"], "bgp": both,
                "route_policies": [{"name": "in", "nodes": nodes}, {"name": "out", "nodes": nodes}]}

    def changes_group(self, refresh, keep, effect):
        every = {"20.0.%d.0/24" % i for i in range(3)}
        self.begin(refresh, keep)
        self.wait_jobs(self.keel.commit(self.in_groups("loose", "loose", keep)))
        self.wait("all routes", lambda: self.seen() == every)
        for theirs, others in (("strict", "loose"), ("loose", "strict"), ("loose", "loose")):
            document = self.in_groups(theirs, others, keep)
            self.keel.call("config.edit", {"merge": document})
            preview = self.keel.call("bgp.refresh.preview", {"candidate": True})["peers"]
            lines = [(p["removed"], p.get("added")) for p in preview if p["address"] == THEM and p["family"] == FAMILY and p["direction"] == "import"]
            effects = self.keel.call("config.commit")["effects"]
            if theirs == "strict":
                self.assertEqual(lines, [(1, 0 if keep else None)])
                self.assertEqual([(e["address"], e["direction"]) for e in effects if e["family"] == FAMILY], [(THEM, "import")])
            if (theirs, others) != ("loose", "loose"):
                self.assertEqual(self.imports(effects), [(effect, None)])
            self.assertEqual([e["effect"] for e in effects if (e["address"], e["direction"]) == (OTHER, "export")],
                             [] if theirs == "strict" else ["readvertised"])
            self.wait_jobs(effects)
            self.wait("the table of %s, %s" % (theirs, others),
                      lambda: self.seen() == (every if theirs == others else every - {"20.0.1.0/24"}))
        self.assertEqual(self.peer()["established_count"], self.established)
        # without a policy that reads the group, a change of the group is no change
        document = self.in_groups("strict", "strict", keep)
        self.wait_jobs(self.keel.commit({"route_policies": [{"name": n, "nodes": [{"seq": 10, "action": "permit"}]} for n in ("in", "out")]}))
        self.assertEqual(self.keel.commit({"bgp": document["bgp"]}), [])

    def test_a_changed_group_replays(self):
        self.changes_group(False, True, "replayed")

    def test_a_changed_group_asks(self):
        self.changes_group(True, False, "route-refresh-sent")

    def test_5_5_on_with_route_refresh_asks_once(self):
        self.begin(True, False, "20.0.0.0/24")
        since = time.monotonic()
        effects = self.keel.commit({"bgp": {"peers": peers(True)}})
        self.assertEqual([self.imports(effects, THEM, f) for f in (FAMILY, V6)], [[("route-refresh-sent", None)]] * 2)
        self.wait_jobs(effects)
        self.caught_up()
        self.assertEqual([len(self.them.requests(since, f)) for f in (FAMILY, V6)], [1, 1])
        self.assertEqual(self.peer()["established_count"], self.established)
        self.assertEqual(self.peer()["families"][FAMILY]["received"], 3)
        since = time.monotonic()
        effects = self.keel.commit(policy())  # the rejected route is kept by now
        self.assertEqual(self.imports(effects), [("replayed", None)])
        self.wait("all routes", lambda: self.seen() == {"20.0.%d.0/24" % i for i in range(3)})
        self.untouched(since)

    def test_5_5_asked_again_as_long_as_the_peer_does_not_answer(self):
        self.begin(True, False, "20.0.0.0/24")
        self.them.helpful = False
        since = time.monotonic()
        self.assertEqual(self.imports(self.keel.commit({"bgp": {"peers": peers(True)}})), [("route-refresh-sent", None)])
        effects = self.keel.commit(policy("20.0.1.0/24"))  # the rejected route is not kept yet
        self.assertEqual(self.imports(effects), [("route-refresh-sent", None)])
        self.wait("requests", lambda: len(self.them.requests(since, FAMILY)) > 1)
        self.them.helpful = True
        effects = self.keel.commit(policy("20.0.2.0/24"))
        self.assertEqual(self.imports(effects), [("route-refresh-sent", None)])
        for _ in range(2):  # late answers to the open requests
            for f in (FAMILY, V6):
                self.them.again(*(bytes(x) for x in ((0, AFI_SAFI[f][0]), (AFI_SAFI[f][1],))))
        self.wait_jobs(effects)
        self.wait("the table", lambda: self.seen() == {"20.0.0.0/24", "20.0.1.0/24"})
        since = time.monotonic()
        self.assertEqual(self.imports(self.keel.commit(policy())), [("replayed", None)])
        self.wait("all routes", lambda: self.seen() == {"20.0.%d.0/24" % i for i in range(3)})
        self.untouched(since)

    def test_5_5_on_without_route_refresh_re_establishes_once(self):
        self.begin(False, False, "20.0.0.0/24")
        effects = self.keel.commit({"bgp": {"peers": peers(True)}})
        self.assertEqual(self.imports(effects), [("session-reset", "keep-all-routes")])
        self.wait("the end of the session", self.them.closed)
        self.them = self.speak(refresh=False)
        self.them.announce("20.0.0.0", "20.0.1.0", "20.0.2.0")
        self.wait("the table", lambda: self.peer()["families"][FAMILY]["received"] == 3)
        self.assertEqual(self.peer()["established_count"], self.established + 1)
        self.established += 1
        since = time.monotonic()
        self.assertEqual(self.imports(self.keel.commit(policy())), [("replayed", None)])
        self.wait("all routes", lambda: self.seen() == {"20.0.%d.0/24" % i for i in range(3)})
        self.untouched(since)
        self.assertEqual(self.keel.commit({"bgp": {"peers": peers(False)}}), [])  # off: no message to any peer
        self.untouched(since)
        a = self.keel.answer("rib.routes", {"family": FAMILY, "view": "adj-in-pre", "peer": THEM})
        self.assertEqual(a["error"]["code"], -32010)

    def test_5_5_a_group_each_by_its_own_case(self):
        group = {"name": "g", "families": {FAMILY: {"import_policy": "in", "export_policy": "accept-all"}}}
        members = [{"address": a, "asn": n, "passive": True, "group": "g"} for a, n in ((THEM, 64513), (OTHER, 64514))]
        self.start(dict({"router": {"asn": 64512, "router_id": US}, "bgp": {"groups": [group], "peers": members}}, **policy()))
        with_it, without = self.speak(), self.speak(address=OTHER, asn=64514, refresh=False)
        since = time.monotonic()
        group["families"][FAMILY]["keep_all_routes"] = True
        effects = self.keel.commit({"bgp": {"groups": [group]}})
        self.assertEqual(self.imports(effects), [("route-refresh-sent", None)])
        self.assertEqual(self.imports(effects, OTHER), [("session-reset", "keep-all-routes")])
        self.wait("the end of one session", without.closed)
        self.wait("the request", lambda: with_it.requests(since), with_it.changed)
        self.assertEqual(len(with_it.requests(since)), 1)
        self.assertFalse(with_it.closed())

    def test_keep_ends_with_a_policy_change(self):
        """Kept routes are used a last time, whatever the delay: the peer cannot be asked."""
        self.begin(False, True, "20.0.0.0/24", policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        effects = self.keel.commit(dict(policy("20.0.1.0/24"), bgp={"peers": peers(False)}))
        self.assertEqual(self.imports(effects), [("replayed", None)])
        self.wait("the new policy's routes", lambda: self.other.table() == {"20.0.0.0/24", "20.0.2.0/24"})
        self.untouched(since)
        self.assertEqual(self.refresh()["peers"][0]["action"], "unsupported")

    def test_keep_ends_while_a_policy_change_waits(self):
        """As before, with the policy changed by an earlier commit: the delayed replay is impossible afterwards."""
        self.begin(False, True, "20.0.0.0/24", policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        first = self.keel.commit(policy("20.0.1.0/24"))
        self.assertEqual(self.imports(first), [("replayed", None)])
        self.keel.call("config.edit", {"merge": {"bgp": {"peers": peers(False)}}})
        ahead = self.keel.call("bgp.refresh.preview", {"candidate": True})["effects"]
        effects = self.keel.call("config.commit")["effects"]
        self.assertEqual(ahead, [{k: v for k, v in e.items() if k != "job"} for e in effects])
        self.assertEqual(self.imports(effects), [("replayed", None)])
        self.wait_jobs(first + effects)
        self.wait("the new policy's routes", lambda: self.other.table() == {"20.0.0.0/24", "20.0.2.0/24"})
        self.untouched(since)

    def test_not_applied_is_shown_until_the_session_is_established_anew(self):
        self.begin(False, False, "20.0.0.0/24")
        since = time.monotonic()
        effects = self.keel.commit(policy("20.0.1.0/24"))
        self.assertEqual(self.imports(effects), [("not-applied", "no-route-refresh")])
        self.untouched(since)
        self.assertEqual(self.told(self.other, since), [])
        self.assertEqual(self.peer()["families"][FAMILY]["not_applied"], "no-route-refresh")
        answer = self.refresh()
        self.assertEqual([(p["action"], p["reason"]) for p in answer["peers"]], [("unsupported", "no-route-refresh")])
        self.keel.call("bgp.reset", {"family": FAMILY, "scope": "peer", "peer": THEM, "force": True})
        self.wait("the end of the session", self.them.closed)
        self.them = self.speak(refresh=False)
        self.wait("the new session", lambda: self.peer()["state"] == "established")
        self.assertNotIn("not_applied", self.peer()["families"][FAMILY])

    @unhurried
    def test_5_7_a_list_refreshes_once_a_delay_restarts(self):
        self.begin(False, True, policy_change_delay_s=2)
        since = time.monotonic()
        first = self.keel.commit({"prefix_lists": policy("20.0.0.0/24")["prefix_lists"]})
        self.silent_until(self.other, since, since + 1)
        again = time.monotonic()
        second = self.keel.commit({"prefix_lists": policy("20.0.1.0/24")["prefix_lists"]})
        self.in_time(since + 1.9)
        self.assertEqual([e["job"] for e in first], [e["job"] for e in second])
        self.assertEqual(self.imports(second), [("replayed", None)])
        self.silent_until(self.other, again, again + 1.8)
        self.wait_jobs(second)
        self.wait("the withdrawal", lambda: self.seen() == {"20.0.0.0/24", "20.0.2.0/24"})
        self.assertEqual(self.other.told(since), (set(), {"20.0.1.0/24"}))
        # A command starts at once, with or without a replay.
        third = self.keel.commit({"prefix_lists": policy()["prefix_lists"]})
        self.refresh()
        self.wait_jobs(e for e in third if e["family"] == FAMILY)
        self.untouched(since)
        self.assertEqual(self.seen(), {"20.0.%d.0/24" % i for i in range(3)})

    def test_5_4_a_command_applies_what_waits(self):
        self.begin(True, True, policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        effects = self.keel.commit(policy("20.0.0.0/24"))
        self.assertEqual([p["action"] for p in self.refresh()["peers"]], ["no-op"])
        self.wait_jobs(e for e in effects if e["family"] == FAMILY)
        self.wait("the withdrawal", lambda: self.seen() == {"20.0.1.0/24", "20.0.2.0/24"})
        self.untouched(since)

    def test_5_8_route_refresh_changed_re_establishes(self):
        self.begin(True, False)
        effects = self.keel.commit({"bgp": {"peers": peers(False, capabilities={"route_refresh": False})}})
        self.assertEqual(self.imports(effects), [("session-reset", "configuration-change")])
        self.wait("the end of the session", self.them.closed)

    def nothing_moves(self, keep, effect):
        self.begin(True, keep, "20.0.0.0/24")
        self.caught_up()
        since = time.monotonic()
        effects = self.keel.commit(policy("20.0.0.0/24", pad=("30.0.0.0/8",)))
        self.assertEqual(self.imports(effects), [(effect, None)])
        self.wait_jobs(effects)
        self.caught_up()
        self.assertEqual([self.told(s, since) for s in (self.them, self.other)], [[], []])
        # An equivalent policy: no request at all.
        since = time.monotonic()
        self.assertEqual(self.keel.commit(policy("20.0.0.0/24", pad=("30.0.0.0/8",))), [])
        self.untouched(since)

    def test_acceptance_5_no_updates_where_routes_are_kept(self):
        self.nothing_moves(True, "replayed")

    def test_acceptance_5_no_updates_where_routes_come_again(self):
        self.nothing_moves(False, "route-refresh-sent")

    def test_preview_of_allow_as_in(self):
        """The candidate's allow_as_in is applied to kept routes: a looped route is accepted or refused."""
        self.begin(True, True, "20.0.0.0/24")
        self.them.announce("20.0.3.0", asns=(64513, 64512, 7))
        self.wait("the looped route", lambda: self.peer()["families"][FAMILY]["received"] == 4)
        for allowed, counts, accepted in ((1, (1, 0, 0), 3), (0, (0, 1, 0), 2)):
            them, *others = peers(True)
            them["families"][FAMILY]["allow_as_in"] = allowed
            self.keel.call("config.edit", {"merge": {"bgp": {"peers": [them, *others]}}})
            lines = self.keel.call("bgp.refresh.preview", {"candidate": True})["peers"]
            effects = self.keel.call("config.commit")["effects"]
            self.wait_jobs(effects)
            self.assertEqual(self.imports(effects), [("replayed", None)])
            self.assertEqual(self.peer()["families"][FAMILY]["accepted"], accepted)
            self.assertEqual([(l["address"], l["family"], l["direction"], l["exact"], (l["added"], l["removed"], l["changed"])) for l in lines],
                             [(THEM, FAMILY, "import", True, counts)] + [(a, FAMILY, "export", True, counts) for a in (OTHER, MARKING)[:2 if VPN else 1]])
            self.wait("the other peer's routes", lambda: self.peer(OTHER)["families"][FAMILY]["advertised"] == accepted)

    def test_preview_of_cluster_id(self):
        """Internal peers are included, in both directions; an external peer is not."""
        families = {"families": {FAMILY: {}}}
        internal = dict({"address": OTHER, "asn": 64512, "passive": True}, **families)
        external = dict({"address": THEM, "asn": 64513, "passive": True}, **families)
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"peers": [external, internal]}})
        for cluster, lines in ((US, []), ("9.9.9.9", [(OTHER, FAMILY, "import"), (OTHER, FAMILY, "export")])):  # ours is the router id
            self.keel.call("config.edit", {"merge": {"bgp": {"cluster_id": cluster}}})
            seen = self.keel.call("bgp.refresh.preview", {"candidate": True})["peers"]
            self.assertEqual([(l["address"], l["family"], l["direction"]) for l in seen], lines)

    def ahead(self, refresh, keep, keep_then):
        """bgp.refresh.preview of the candidate predicts the effects of the commit, without a change."""
        self.begin(refresh, keep, "20.0.0.0/24")
        since = time.monotonic()
        self.keel.call("config.edit", {"merge": dict(policy("20.0.1.0/24"), bgp={"peers": peers(keep_then)})})
        ahead = self.keel.call("bgp.refresh.preview", {"candidate": True})["effects"]
        self.assertEqual([m for m in self.them.messages + self.other.messages if m[0] >= since], [])
        done = self.keel.call("config.commit")["effects"]
        self.assertEqual(ahead, [{k: v for k, v in e.items() if k != "job"} for e in done])

    def test_effects_ahead_kept(self):
        self.ahead(True, True, True)

    def test_effects_ahead_by_request(self):
        self.ahead(True, False, False)

    def test_effects_ahead_keep_begins(self):
        self.ahead(True, False, True)

    def test_effects_ahead_reset(self):
        self.ahead(False, False, True)


if __name__ == "__main__":
    keel_rig.main()
