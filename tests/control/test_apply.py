#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Commits against a real keeld, with a speaker that records all messages with their times: policy changes trigger refreshes automatically, once
per family and direction, after their delay; an unchanged part sends no message. Needs root (a network namespace); else the exit status is 77.

usage: test_apply.py KEELD
"""
import json
import time

import keel_rig
from keel_rig import THEM, US, V4, V6, KeelTest, unhurried


MARKER = 99  # a pair announced and withdrawn to show that all earlier changes have arrived


def pair(i):
    """Network number i of each family."""
    return ["10.0.%d.0/24" % i, "2001:db8:a%d::/48" % i]


def lists(*numbers, other=()):
    """The prefix lists: the exported list (always with the marker), and a list without a referring policy."""
    return [{"name": "l", "entries": [{"action": "permit", "prefix": p} for i in numbers + (MARKER,) for p in pair(i)]},
            {"name": "other", "entries": [{"action": "permit", "prefix": p} for p in other]}]


def networks(*numbers):
    return [{"prefix": p} for i in numbers for p in pair(i)]


def document(**bgp):
    families = {f: {"import_policy": "in", "export_policy": "out"} for f in (V4, V6)}
    return {
        "router": {"asn": 64512, "router_id": US},
        "prefix_lists": lists(0),
        "route_policies": [
            {"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": 110}}]},
            {"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "l"}, "set": {"next_hop": US}},
                                      {"seq": 5, "action": "permit", "match": {"prefix_list": "l", "family": V6},
                                       "set": {"next_hop": "2001:db8::1"}}]},
            {"name": "unused", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "other"}}]}],
        "bgp": dict({"networks": networks(*range(5)),
                     "peers": [{"address": THEM, "asn": 64513, "passive": True, "families": families}]}, **bgp),
    }


def policies(local_pref):
    """The complete array of policies, because a merge (RFC 7396) replaces arrays."""
    p = document()["route_policies"]
    p[0]["nodes"][0]["set"]["local_pref"] = local_pref
    return p


class Commit(KeelTest):
    def begin(self, **bgp):
        self.start(document(**bgp))
        self.speaker = self.speak()
        self.marked = False
        self.wait("the first table", lambda: self.speaker.table() == set(pair(0)))
        self.established = self.keel.peer()["established_count"]
        self.addCleanup(lambda: self.still_up())

    def still_up(self):
        p = self.keel.peer()
        self.assertEqual((p["state"], p["established_count"]), ("established", self.established), self.keel.logged())

    def wait(self, what, good, changed=None):
        super().wait(what, good, changed or getattr(self, "speaker", None) and self.speaker.changed)

    def caught_up(self):
        """Waits until all changes so far have arrived: the network of the marker follows them."""
        self.marked = not self.marked
        since = time.monotonic()
        self.keel.commit({"bgp": {"networks": networks(*range(5), *([MARKER] if self.marked else []))}})
        self.wait("the marker", lambda: set(pair(MARKER)) <= self.speaker.told(since)[0 if self.marked else 1])

    def told(self, since):
        """Announced and withdrawn prefixes, without the marker."""
        return tuple(t - set(pair(MARKER)) for t in self.speaker.told(since))

    def effects(self, effects):
        return sorted((e["family"], e["direction"], e["effect"]) for e in effects)

    def both(self):
        """The families negotiated between this speaker and keeld."""
        return [f for f in (V4, V6) if self.keel.peer()["families"][f]["negotiated"]]

    def test_import_change_asks_each_family_once(self):
        self.begin()
        families = self.both()
        self.assertEqual(families, [V4, V6])
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(120)})
        self.assertEqual(self.effects(effects), [(f, "import", "route-refresh-sent") for f in families])
        for e in effects:
            self.wait("end of the job", lambda: self.keel.job(e["job"]) == "done")
        updates = self.speaker.updates(since)
        self.caught_up()
        for f in families:
            self.assertEqual(len(self.speaker.requests(since, f)), 1, f)
        self.assertEqual((updates, self.told(since)), ([], (set(), set())))

    @unhurried
    def test_delay_restarts_up_to_its_maximum(self):
        self.begin(policy_change_delay_s=2, policy_change_max_delay_s=3)
        since = time.monotonic()
        jobs = set()
        for i in range(3):  # commits at 0, 1.2 and 2.4 s; each restarts the delay of 2 s (until 4.4 s), but the limit is 3 s
            self.silent_until(self.speaker, since, since + 1.2 * i)
            jobs |= {e["job"] for e in self.keel.commit({"route_policies": policies(120 + i)})}
            self.in_time(since + (0.7, 1.9, 2.8)[i])
        self.assertEqual(len(jobs), 2)
        early = self.speaker.requests(since)
        self.in_time(since + 2.9)
        self.assertEqual(early, [])
        for f in (V4, V6):
            self.wait("request", lambda: self.speaker.requests(since, f))
            self.in_time(since + 4.2)
            self.assertGreater(self.speaker.requests(since, f)[0] - since, 2.9)
        self.silent_until(self.speaker, time.monotonic(), since + 4.5)
        self.assertEqual(len(self.speaker.requests(since)), 2)
        self.wait("end of the jobs", lambda: {self.keel.job(j) for j in jobs} == {"done"})

    @unhurried
    def test_a_later_change_restarts_the_delay(self):
        self.begin(policy_change_delay_s=2)
        since = time.monotonic()
        self.keel.commit({"route_policies": policies(120)})
        self.silent_until(self.speaker, since, since + 1.2)
        again = time.monotonic()
        self.keel.commit({"route_policies": policies(121)})
        self.in_time(since + 1.9)
        self.wait("request", lambda: len(self.speaker.requests(since)) == 2)
        self.assertGreater(min(self.speaker.requests(since)), again + 1.9)

    def test_import_command_applies_what_waits(self):
        self.begin(policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(120)})
        self.keel.call("bgp.refresh", {"family": V4, "scope": "all", "direction": "import"})
        job = [e["job"] for e in effects if e["family"] == V4][0]
        self.wait("end of the waiting job", lambda: self.keel.job(job) == "done")
        self.assertEqual([len(self.speaker.requests(since, f)) for f in (V4, V6)], [1, 0])

    def test_export_change_sends_differences(self):
        self.begin()
        since = time.monotonic()
        effects = self.keel.commit({"prefix_lists": lists(0, 2)})
        self.assertEqual(self.effects(effects), [(f, "export", "readvertised") for f in self.both()])
        self.assertTrue(all("job" in e for e in effects), effects)
        self.wait_jobs(effects)
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(0) + pair(2)))
        self.caught_up()
        self.assertEqual(self.told(since), (set(pair(2)), set()))
        self.assertEqual(self.speaker.requests(since), [])

    @unhurried
    def test_export_change_waits(self):
        self.begin(policy_change_delay_s=2)
        since = time.monotonic()
        first = self.keel.commit({"prefix_lists": lists(2)})
        self.assertEqual(self.effects(first), [(f, "export", "readvertised") for f in self.both()])
        self.silent_until(self.speaker, since, since + 1)
        again = time.monotonic()
        second = self.keel.commit({"prefix_lists": lists(3)})
        self.in_time(since + 1.9)
        self.assertEqual([e["job"] for e in first], [e["job"] for e in second])
        self.keel.commit({"bgp": {"max_paths": 2}})  # neither hurries nor cancels the delayed refresh
        state = self.keel.job(first[0]["job"])
        self.in_time(again + 1.9)
        self.assertEqual(state, "running")
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(3)))
        self.assertGreater(self.speaker.updates(since)[0][0], again + 1.9)
        self.wait_jobs(first)
        self.caught_up()
        self.assertEqual(self.told(since), (set(pair(3)), set(pair(0))))

    @unhurried
    def test_change_and_back_within_the_delay(self):
        self.begin(policy_change_delay_s=1)
        since = time.monotonic()
        self.keel.commit({"prefix_lists": lists(1, 2)})
        last = self.keel.commit({"prefix_lists": lists(0)})
        self.in_time(since + 0.9)
        self.wait("end of the job", lambda: {self.keel.job(e["job"]) for e in last} == {"done"})
        self.caught_up()
        self.assertEqual(self.told(since), (set(), set()))

    def test_export_command_applies_what_waits(self):
        self.begin(policy_change_delay_s=600, policy_change_max_delay_s=600)
        effects = self.keel.commit({"prefix_lists": lists(3)})
        self.keel.call("bgp.refresh", {"family": V4, "scope": "all", "direction": "export"})
        self.wait("the new route", lambda: self.speaker.table() == {pair(3)[0], pair(0)[1]})
        self.wait_jobs(e for e in effects if e["family"] == V4)
        states = {e["family"]: self.keel.job(e["job"]) for e in effects}
        self.assertEqual(states, {V4: "done", V6: "running"})

    def test_delay_taken_away(self):
        self.begin(policy_change_delay_s=600, policy_change_max_delay_s=600)
        self.keel.commit({"prefix_lists": lists(3)})
        self.keel.commit({"bgp": {"policy_change_delay_s": 0}, "prefix_lists": lists(4)})
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(4)))

    def test_delay_taken_away_alone(self):
        """Without a delay, waiting refreshes of both directions start."""
        self.begin(policy_change_delay_s=600, policy_change_max_delay_s=600)
        since = time.monotonic()
        effects = self.keel.commit({"prefix_lists": lists(3), "route_policies": policies(120)})
        self.keel.commit({"bgp": {"policy_change_delay_s": 0}})
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(3)))
        self.wait_jobs(effects)
        self.assertEqual([len(self.speaker.requests(since, f)) for f in (V4, V6)], [1, 1])

    def families(self, **keys):
        """A merge that sets these keys in every family of the peer."""
        peer = json.loads(json.dumps(document()["bgp"]["peers"][0]))
        for f in peer["families"].values():
            f.update(keys)
        return {"bgp": {"peers": [peer]}}

    def test_allow_as_in_asks_again(self):
        self.begin()
        self.speaker.announce("20.0.0.0", asns=(64513, 64512, 7))
        self.speaker.announce("20.0.1.0")
        self.wait("the good route", lambda: self.keel.peer()["families"][V4]["accepted"] == 1)
        since = time.monotonic()
        effects = self.keel.commit(self.families(allow_as_in=1))
        self.assertEqual(self.effects(effects), [(f, "import", "route-refresh-sent") for f in self.both()])
        self.wait("request", lambda: self.speaker.requests(since, V4))
        self.speaker.announce("20.0.0.0", asns=(64513, 64512, 7))
        self.wait("the looped route", lambda: [r["prefix"] for r in self.keel.call(
            "rib.routes", {"family": V4, "view": "loc", "prefix": "20.0.0.0/24"})["routes"]] == ["20.0.0.0/24"])

    def test_export_rules_leave_the_session_up(self):
        self.begin()
        for keys in ({"next_hop_self": True}, {"next_hop_self": True, "remove_private_as": True}, {"default_originate": True}, {}):
            effects = self.keel.commit(self.families(**keys))
            self.assertEqual(self.effects(effects), [(f, "export", "readvertised") for f in self.both()], keys)
            if "default_originate" in keys:
                self.wait("default routes", lambda: self.speaker.table() == set(pair(0) + ["0.0.0.0/0", "::/0"]))
        self.assertEqual(self.keel.commit(self.families(max_prefixes={"limit": 1000})), [])
        self.wait("no default route", lambda: self.speaker.table() == set(pair(0)))

    def test_what_did_not_change_says_nothing(self):
        self.begin()
        self.speaker.announce("20.0.0.0", "20.0.1.0")
        self.wait("their routes", lambda: self.keel.peer()["families"][V4]["accepted"] == 2)
        self.caught_up()
        since = time.monotonic()
        for merge in ({"prefix_lists": lists(0, other=["9.0.0.0/8"])},  # of an unused policy
                      {"bgp": {"max_paths": 4, "tombstones_max": 70000, "cluster_id": "9.9.9.9"}},
                      {"large_community_lists": [{"name": "x", "entries": []}]},
                      {"description": "words"}):
            self.assertEqual(self.keel.commit(merge), [], merge)
        self.assertEqual([m for m in self.speaker.messages if m[0] >= since], [])
        self.caught_up()
        self.assertEqual((self.told(since), self.speaker.requests(since)), ((set(), set()), []))

    def test_restart_required(self):
        """A key that is read at start is saved with the commit, and the old value holds; the rest of the commit takes effect."""
        self.begin()
        keys = {"bgp": {"next_hop_tracking": False}, "router": {"asn": 5}, "management": {"http": "127.0.0.1:9180"}}
        pointers = ["/bgp/next_hop_tracking", "/management/http", "/router/asn"]
        call, before = self.keel.call, self.keel.call("config.get")["document"]
        call("config.edit", {"merge": keys})
        valid = call("config.validate")
        self.assertEqual((valid["valid"], sorted(valid["restart_required"])), (True, pointers))
        self.keel.call("bgp.refresh.preview", {"candidate": True})
        answer = call("config.commit")
        self.assertEqual((sorted(answer["restart_required"]), answer["persisted"]), (pointers, True))
        self.assertEqual(sorted(call("system.info")["restart_required"]), pointers)
        with open(self.keel.file) as f:
            self.assertEqual(json.load(f)["router"]["asn"], 5)
        self.assertEqual(call("config.get")["document"]["router"]["asn"], 5)
        self.assertEqual(call("config.get", {"source": "startup"})["document"]["management"], keys["management"])
        # the session goes on, other commits take effect and name no key, and a value of the start needs no restart
        self.caught_up()
        self.keel.call("config.edit", {"merge": {"router": {"asn": before["router"]["asn"]}}})
        self.assertEqual(call("config.commit")["restart_required"], [])
        self.assertEqual(sorted(call("system.info")["restart_required"]), pointers[:2])
        answer = self.keel.answer("config.rollback", {"to": call("config.history")["commits"][0]["id"]})["result"]
        self.assertEqual((answer["restart_required"], call("system.info")["restart_required"]), ([], []))
        self.marked = False  # the rollback has withdrawn the marker
        self.caught_up()
        # a restart takes the value
        call("config.edit", {"merge": {"management": keys["management"]}})
        self.assertEqual(call("config.commit")["restart_required"], ["/management/http"])
        self.still_up()
        self.keel.stop()
        self.keel.start()
        self.addCleanup(setattr, self, "still_up", lambda: None)
        self.assertEqual(call("system.info")["restart_required"], [])
        self.assertIn("http-up address=127.0.0.1 port=9180", self.keel.logged())


if __name__ == "__main__":
    keel_rig.main()
