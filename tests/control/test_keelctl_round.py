#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Lines of the configuration views: each line edits the candidate, `undo` restores it; `display current-configuration` of one daemon, typed into an
empty daemon, gives the same document (needs root: else the exit status is 77).

usage: test_keelctl_round.py KEELCTL KEELD
"""
import json
import os
import re
import subprocess

from keelctl_lab import KEELCTL, Pair, keelctl, run_tests

FAMILY = {"import_policy": "in", "export_policy": "accept-all"}
RICH = {
    "router": {"asn": 64512, "router_id": "192.0.2.1"},
    "vrfs": [{"name": "red", "rd": "64512:1", "import_targets": ["64512:1"], "export_targets": ["64512:1"]}],
    "prefix_lists": [*({"name": c * 63, "entries": [{"action": "permit", "prefix": "10.0.0.0/8"}]} for c in "abcdefghij"), {"name": "some", "entries": [{"action": "permit", "prefix": "10.0.0.0/8", "ge": 9, "le": 24}]}, {"name": "empty", "entries": []},
                     {"name": "both", "entries": [{"action": "deny", "prefix": "192.0.2.0/24", "seq": 5}, {"action": "permit", "prefix": "2001:db8::/32", "le": 48, "seq": 7}]},
                     {"name": "partly", "entries": [{"action": "permit", "prefix": "2001:db8::/32"}, {"action": "permit", "prefix": "10.0.0.0/8", "seq": 10}]}],
    "as_path_lists": [{"name": "paths", "entries": [{"action": "permit", "regex": "^6451[34]_ \"x"}, {"action": "deny", "regex": "_1_", "seq": 9}]},
                      {"name": "odd", "entries": [{"action": "permit", "regex": "[0-9]+_1$"}, {"action": "deny", "regex": "\\\\" * 140}]}],
    "large_community_lists": [{"name": "large", "entries": [{"action": "permit", "large_community": "64512:*:peer"}]}],
    "ext_community_lists": [{"name": "extended", "entries": [{"action": "permit", "ext_community": "rt:64512:1"}]}],
    "community_lists": [{"name": "cust", "description": "it's \"x\"; # \\", "entries": [{"action": "permit", "community": "64512:100"}]}],
    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "some"}, "set": {"local_pref": 120}},
                                                {"seq": 20, "action": "deny"}]},
                       {"name": "out", "description": "x", "nodes": [
                           {"seq": 30, "action": "permit", "call": "in", "goto": 40, "description": "two words", "match": {
                               "prefix_list": ["some", "both"], "as_path_list": "paths", "large_community_list": "large", "ext_community_list": "extended", "med": 5,
                               "local_pref": {"ge": 7}, "tag": 0, "source": ["static", "connected"], "origin": "igp", "not": {"community_list": "cust"}},
                            "set": {"local_pref": {"subtract": 5}, "med": {"add": 7}, "origin": "egp", "tag": 3, "as_path_prepend": {"asn": 64512, "count": 3},
                                    "communities": {"add": ["64512:1", "no-export"], "remove": ["64512:*"]}, "large_communities": {"replace": []}}},
                           {"seq": 40, "action": "permit", "match": {"source": "connected", "next_hop_prefix_list": "some"},
                            "set": {"next_hop": "discard", "ext_communities": {"replace": ["soo:64512:1"]}}},
                           {"seq": 10, "action": "deny", "match": {"peer": "192.0.2.7"}},
                           {"seq": 60, "action": "permit", "set": {"as_path_prepend": {"asn": "first", "count": 64}, "next_hop": "192.0.2.1"}}]},
                       {"name": "long", "nodes": [
                           {"seq": 1, "action": "permit", "description": "\"" * 300, "match": {"prefix_list": [c * 63 for c in "abcdefghij"]},
                            "set": {"large_communities": {"add": ["4294967295:4294967295:42949672%02d" % n for n in range(20)]}}}]},
                       {"name": "none", "nodes": []}],
    "static_routes": [{"prefix": "203.0.113.0/24", "next_hop": "192.0.2.9", "tag": 7, "description": "two words"},
                      {"prefix": "2001:db8:7::/48", "blackhole": True}, {"prefix": "198.51.100.0/24", "blackhole": True, "vrf": "red"}],
    "bgp": {
        "max_paths": 4,
        "networks": [{"prefix": "198.51.100.0/24"}, {"prefix": "2001:db8:1::/48"}, {"prefix": "198.51.100.0/25", "vrf": "red"}],
        "redistribute": [{"source": "static"}, {"source": "connected", "policy": "in"}],
        "groups": [{"name": "transit", "asn": 64513, "description": "it's; \"quoted\" # \\ text", "timers": {"hold_s": 30, "keepalive_s": 10},
                    "families": {"ipv4-unicast": FAMILY, "ipv6-unicast": dict(FAMILY, next_hop_self=True)}},
                   {"name": "bare"}],
        "peers": [{"address": "192.0.2.7", "group": "transit"},
                  {"address": "2001:db8::7", "group": "transit", "shutdown": True, "families": {"ipv4-unicast": {"enabled": False}}},
                  {"address": "192.0.2.8", "asn": 64514, "multihop": 3, "source": "192.0.2.1", "description": "one", "enforce_first_as": False,
                   "capabilities": {"route_refresh": False, "extended_message": False}, "slow_peer": {"absolute_s": 5},
                   "families": {"ipv6-unicast": {"allow_as_in": 2, "max_prefixes": {"limit": 5, "action": "warning", "threshold_percent": 70}}}},
                  {"address": "192.0.2.9", "asn": 64512, "description": "|", "route_reflector_client": True, "passive": True,
                   "families": {"ipv4-unicast": {"keep_all_routes": True, "send_communities": False, "max_prefixes": {"limit": 9}}, "vpnv4-unicast": {}}},
                  {"address": "192.0.2.10", "asn": 64515, "description": "a\u0001\u007fb\u0085", "gtsm": True, "local_as": 64999, "timers": {"connect_retry_s": 5}},
                  {"address": "192.0.2.11", "asn": 64516, "vrf": "red", "description": "of red", "families": {"ipv4-unicast": FAMILY}},
                  {"address": "2001:db8::11", "asn": 64516, "vrf": "red"}]},
}
SETTINGS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "control", "cli", "keelctl_settings.def")
VALUES = {"TRUE": ("", True), "TEXT": ("192.0.2.1", "192.0.2.1"), "ASN": ("1.1", 65537)}


def edits():
    """Lines of the BGP view (4: of the family view), and what they do to the peer 192.0.2.99, AS 7; undone by `undo`. All settings of keys, and lines of
    other shapes."""
    with open(SETTINGS) as f:
        text = f.read()
    lowest = dict(re.findall(r'^WORD\("NUMBER", "([^"]+)", "(\d+) to ', text, re.M))
    for views, words, shown, kind, key, home, on, number in re.findall(
            r'^SETTING\((.+?), "([^"]+)", "([^"]*)", SETS_(\w+), "(\w+)", (NULL|"\w*"), (\w+), (\d+), ', text, re.M):
        if on == "true":
            continue  # undo sets false: below
        value, meant = VALUES.get(kind) or (str(int(lowest[words.split()[-1]]) + 5), int(lowest[words.split()[-1]]) + 5)
        for value, meant in [(value, meant)] + ([("", int(number))] if "[" in shown else []):
            yield ("4 " if views == "VIEW_FAMILIES" else "") + (words + " " + value).strip(), {home.strip('"'): {key: meant}} if len(home) > 2 and home != "NULL" else {key: meant}
    yield from [
        ("password cipher secret", {"password": "***"}), ("timer keepalive 5 hold 15", {"timers": {"keepalive_s": 5, "hold_s": 15}}),
        ("4 route-limit 10", {"max_prefixes": {"limit": 10}}), ("4 route-limit 10 alert-only", {"max_prefixes": {"limit": 10, "action": "warning"}}),
        ("4 route-limit 10 discard", {"max_prefixes": {"limit": 10, "action": "discard"}})]


# `undo` and these words undo a line that begins with them.
SHORT = ["if-match " + w for w in ("ip-prefix", "ipv6 address prefix-list", "as-path-filter", "community-filter", "large-community-filter", "extcommunity-filter",
                                   "ip next-hop ip-prefix", "cost", "local-preference", "tag", "protocol", "origin", "rpki origin-as-validation")] + \
    ["apply " + w for w in ("cost", "local-preference", "tag", "origin", "community", "large-community", "extcommunity", "as-path", "ip-address next-hop", "ipv6 next-hop")] + \
    ["goto", "call", "description"]
# Lines of the view of node 20 of a policy, and the node after each of them.
NODE = [
    ("if-match ip-prefix some", {"match": {"prefix_list": "some"}}), ("if-match ipv6 address prefix-list some both", {"match": {"prefix_list": ["some", "both"]}}),
    ("if-match as-path-filter paths", {"match": {"as_path_list": "paths"}}), ("if-match community-filter cust", {"match": {"community_list": "cust"}}),
    ("if-match large-community-filter large", {"match": {"large_community_list": "large"}}),
    ("if-match extcommunity-filter extended", {"match": {"ext_community_list": "extended"}}),
    ("if-match ip next-hop ip-prefix some", {"match": {"next_hop_prefix_list": "some"}}), ("if-match cost 4294967295", {"match": {"med": 4294967295}}),
    ("if-match local-preference 5", {"match": {"local_pref": 5}}), ("if-match tag 0", {"match": {"tag": 0}}),
    ("if-match protocol direct", {"match": {"source": "connected"}}), ("if-match origin incomplete", {"match": {"origin": "incomplete"}}),
    ("if-match rpki origin-as-validation not-found", {"match": {"validation": "not-found"}}), ("apply cost 5", {"set": {"med": 5}}),
    ("apply cost + 5", {"set": {"med": {"add": 5}}}), ("apply local-preference - 5", {"set": {"local_pref": {"subtract": 5}}}),
    ("apply tag 7", {"set": {"tag": 7}}), ("apply origin egp", {"set": {"origin": "egp"}}),
    ("apply community 1:1 no-export", {"set": {"communities": {"replace": ["1:1", "no-export"]}}}),
    ("apply community 1:1 additive", {"set": {"communities": {"add": ["1:1"]}}}), ("apply community 1:* delete", {"set": {"communities": {"remove": ["1:*"]}}}),
    ("apply community none", {"set": {"communities": {"replace": []}}}), ("apply large-community 1:1:1 overwrite", {"set": {"large_communities": {"replace": ["1:1:1"]}}}),
    ("apply extcommunity rt:1:1 additive", {"set": {"ext_communities": {"add": ["rt:1:1"]}}}),
    ("apply as-path 7 7 additive", {"set": {"as_path_prepend": {"asn": 7, "count": 2}}}), ("apply ip-address next-hop 192.0.2.1", {"set": {"next_hop": "192.0.2.1"}}),
    ("apply ipv6 next-hop self", {"set": {"next_hop": "self"}}), ("apply ip-address next-hop peer-address", {"set": {"next_hop": "peer"}}),
    ("apply ip-address next-hop blackhole", {"set": {"next_hop": "discard"}}), ("goto next-node", {"goto": 30}), ("goto node 99", {"goto": 99}),
    ("call in", {"call": "in"}), ("description 'two words'", {"description": "two words"}),
]


class Round(Pair):
    @classmethod
    def documents(cls):
        return [RICH, {"router": RICH["router"]}]

    @classmethod
    def complete(cls):
        return all(keelctl("show", "version", sock=sock)[0] == 0 for sock in cls.sockets)

    def document(self, side, source="running"):
        return json.loads(self.good("--json show configuration " + source, side=side))["document"]

    def test_a_dump_typed_into_an_empty_daemon_is_the_same_document(self):
        want = {k: v for k, v in self.document(0).items() if k != "management"}
        dump = self.good("display current-configuration")
        self.assertIn("\n peer 192.0.2.8 as-number 64514\n", dump)
        status, out, err = keelctl(sock=self.sockets[1], stdin="system-view\n" + dump)
        self.assertEqual((status, out, err), (0, "", ""))
        got = {k: v for k, v in self.document(1, "candidate").items() if k != "management"}
        self.assertEqual(got, want)
        self.assertEqual(keelctl("commit", sock=self.sockets[1])[0], 0)
        self.assertEqual({k: v for k, v in self.document(1).items() if k != "management"}, want)
        again = keelctl("display", "current-configuration", sock=self.sockets[1])[1]
        self.assertEqual([line for line in again.splitlines() if "management" not in line], [line for line in dump.splitlines() if "management" not in line])

    def test_display_this(self):
        bgp = self.good(["system-view; bgp 64512; display this"])
        self.assertIn("peer 192.0.2.8 ebgp-max-hop 3\n", bgp)
        self.assertNotIn("network", bgp)
        self.assertEqual(self.good(["system-view; bgp 64512; ipv6-family unicast; display this"]).splitlines()[0], "network 2001:db8:1::/48")
        red = self.good(["system-view; bgp 64512; ipv4-family vpn-instance red; display this"])
        self.assertIn("network 198.51.100.0/25\n", red)
        self.assertNotIn("198.51.100.0/24", red)

    def test_each_line_edits_and_undoes(self):
        self.good(["system-view; bgp 64512; peer 192.0.2.99 as-number 7; ipv4-family unicast; peer 192.0.2.99 route-policy in import"])
        base = self.document(0, "candidate")["bgp"]["peers"][-1]
        lines = list(edits())
        self.assertGreater(len(lines), 23)
        for line, change in lines:
            family, _, words = line.rpartition("4 ") if line.startswith("4 ") else ("", "", line)
            view = "system-view; bgp 64512; " + ("ipv4-family unicast; " if line.startswith("4 ") else "")
            self.good([view + "peer 192.0.2.99 " + words])
            peer = self.document(0, "candidate")["bgp"]["peers"][-1]
            want = json.loads(json.dumps(base))
            (want["families"]["ipv4-unicast"] if line.startswith("4 ") else want).update(change)
            self.assertEqual(peer, want, line)
            self.good([view + "undo peer 192.0.2.99 " + words])
            self.assertEqual(self.document(0, "candidate")["bgp"]["peers"][-1], base, line)
            if re.search(r" [0-9.]+$", words) and not re.match("route-limit|timer keepalive", words):  # a key: undo needs no value
                self.good([view + "peer 192.0.2.99 %s; undo peer 192.0.2.99 %s" % (words, words.rsplit(" ", 1)[0])])
                self.assertEqual(self.document(0, "candidate")["bgp"]["peers"][-1], base, line)
        for view, words, key in (("", "check-first-as", "enforce_first_as"), ("ipv4-family unicast; ", "advertise-community", "send_communities")):
            self.good(["system-view; bgp 64512; %sundo peer 192.0.2.99 %s" % (view, words)])
            peer = self.document(0, "candidate")["bgp"]["peers"][-1]
            self.assertIs((peer["families"]["ipv4-unicast"] if view else peer)[key], False)
        before = self.document(0)
        self.good(["system-view; bgp 64512; undo peer 192.0.2.99"])
        self.assertEqual(self.document(0, "candidate"), before)
        v4 = "system-view; bgp 64512; ipv4-family unicast; "
        self.good([v4 + "network 10.1.0.0 255.255.0.0; network 10.2.0.0 16; import-route kernel; quit; quit; ip route-static 10.3.0.0 16 192.0.2.5 tag 4 description 'two words'; "
                   "set /bgp/max_paths 8; set /router/description 'two words'"])
        edited = self.document(0, "candidate")
        self.assertEqual([n["prefix"] for n in edited["bgp"]["networks"][-2:]], ["10.1.0.0/16", "10.2.0.0/16"])
        self.assertEqual(edited["static_routes"][-1], {"prefix": "10.3.0.0/16", "next_hop": "192.0.2.5", "tag": 4, "description": "two words"})
        self.assertEqual((edited["bgp"]["max_paths"], edited["router"]["description"]), (8, "two words"))
        self.good([v4 + "undo network 10.1.0.0 255.255.0.0; undo network 10.2.0.0/16; undo import-route kernel; quit; quit; "
                   "undo ip route-static 10.3.0.0/16 192.0.2.5 tag 4 description 'two words'; set /bgp/max_paths 4; undo set /router/description"])
        self.assertEqual(self.document(0, "candidate"), before)
        for line in ("bgp 64512; undo peer 192.0.2.98", "bgp 64512; undo peer transit", "bgp 64512; ipv4-family unicast; undo network 10.9.0.0/16",
                     "bgp 64512; ipv4-family unicast; network 2001:db8::/32", "undo set /nothing"):
            self.assertEqual(self.ctl(["system-view; " + line])[0], 1, line)
        self.good("discard")

    def policies(self):
        return {p["name"]: p.get("nodes") for p in self.document(0, "candidate").get("route_policies", [])}

    def test_each_line_of_a_node_edits_and_undoes(self):
        before = self.document(0)
        self.good(["system-view; route-policy new permit node 30; route-policy new deny node 20; route-policy new permit node 20"])
        base = {"seq": 20, "action": "permit"}
        view = "system-view; route-policy new permit node 20; "
        self.assertEqual(self.policies()["new"], [base, {"seq": 30, "action": "permit"}])
        for line, change in NODE:
            self.good([view + line])
            self.assertEqual(self.policies()["new"][0], dict(base, **change), line)
            self.assertEqual(self.good([view + "display this"]).splitlines()[0].split()[0], line.split()[0])
            self.good([view + "undo " + line])
            self.assertEqual(self.policies()["new"][0], base, line)
            self.good([view + line + "; undo " + next(w for w in SHORT if line.startswith(w))])
            self.assertEqual(self.policies()["new"][0], base, line)
        self.good([view + "apply community 1:1 additive; apply community 2:2 delete; apply cost 5; if-match tag 5; if-match cost 3"])
        self.assertEqual(self.policies()["new"][0], dict(base, set={"communities": {"add": ["1:1"], "remove": ["2:2"]}, "med": 5}, match={"tag": 5, "med": 3}))
        for line in ("undo if-match tag 6", "undo apply tag", "undo goto", "undo call", "apply as-path 7 8", "if-match ip-prefix", "apply community additive"):
            self.assertNotEqual(self.ctl([view + line])[0], 0, line)
        for line in ("route-policy new permit node 0", "undo route-policy new node 40", "undo route-policy other", "route-policy all permit node 1"):
            self.assertNotEqual(self.ctl(["system-view; " + line])[0], 0, line)
        self.good(["system-view; undo route-policy new node 30"])
        self.assertEqual(len(self.policies()["new"]), 1)
        self.good(["system-view; undo route-policy new node 20"])
        self.assertEqual(self.document(0, "candidate"), before)
        self.good(["system-view; route-policy new permit node 20; quit; undo route-policy new"])
        self.assertEqual(self.document(0, "candidate"), before)

    def test_a_condition_in_the_place_of_another_is_named(self):
        view = "system-view; route-policy new permit node 20; "
        status, _, err = self.ctl([view + "if-match ip-prefix some; if-match ipv6 address prefix-list both"])
        self.assertEqual((status, err), (0, "this condition replaces \"some\"\n"))
        self.good([view + "undo if-match ip-prefix; if-match as-path-filter paths odd; undo if-match as-path-filter paths"])
        self.assertEqual(self.policies()["new"], [{"seq": 20, "action": "permit", "match": {"as_path_list": "odd"}}])
        self.assertNotEqual(self.ctl([view + "if-match community-filter cust whole-match"])[0], 0)
        self.good([view + "apply community 1:1 additive; apply community 2:2 delete; undo apply community 2:2 delete; apply extcommunity rt 1:2 additive"])
        self.assertEqual(self.policies()["new"][0]["set"], {"communities": {"add": ["1:1"]}, "ext_communities": {"add": ["rt:1:2"]}})
        self.good(["system-view; set /route_policies/%d/nodes/0/match/not {\"med\": {\"ge\": 5}}" % (len(self.policies()) - 1)])
        self.assertEqual(self.good([view + "display this"]).splitlines()[-1], '# also match/not {"med":{"ge":5}}')
        for line in ("description one two", "undo description one", "undo goto node 5", "goto node 5; undo goto node 6"):
            self.assertEqual(self.ctl([view + line])[0], 0 if line == "description one two" else 1, line)
        self.assertEqual(self.policies()["new"][0]["description"], "one two")
        self.good("discard")

    def test_sections_of_a_configuration_of_vrp(self):
        """`#` ends the view; a value that is no array is refused."""
        status, _, err = keelctl(sock=self.sockets[0], stdin="system-view\nbgp 64512\n peer 192.0.2.99 as-number 7\n#\nroute-policy new permit node 5\n apply cost 5\n#\n"
                                 "ip route-static 10.9.0.0 16 NULL0\n#\nip as-path-filter class permit [0-9]+_1$\n")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.policies()["new"], [{"seq": 5, "action": "permit", "set": {"med": 5}}])
        self.assertEqual(self.entries("class", "as_path_lists"), [{"action": "permit", "regex": "[0-9]+_1$"}])
        for key, line in (("prefix_lists", "ip ip-prefix a index 5 permit 10.0.0.0 8"), ("route_policies", "route-policy a permit node 10")):
            status, _, err = self.ctl(["system-view; set /%s 5; %s" % (key, line)])
            self.assertEqual(status, 1)
            self.assertIn("`%s` of the candidate is no array" % key, err)
        status, _, err = self.ctl(["system-view; undo set /route_policies; route-policy a permit node 10; quit; set /route_policies/0/nodes/0/set {\"communities\": 5}; "
                                   "route-policy a permit node 10; apply community 1:1"])
        self.assertEqual(status, 1)
        self.assertIn("`communities` of the node is no object", err)
        p = subprocess.run([KEELCTL, "--socket", self.sockets[0]], input=b"system-view\nroute-policy b permit node 5\napply community \xe9\n", capture_output=True, timeout=300)
        self.assertEqual((p.returncode, p.stderr), (2, b"line 3: a word of the line is not UTF-8\n"))
        self.good("discard")

    def entries(self, name, section="prefix_lists"):
        return [e for x in self.document(0, "candidate").get(section, []) if x["name"] == name for e in x["entries"]]

    def test_entries_of_lists(self):
        before = self.document(0)
        self.good(["system-view; ip ip-prefix new index 20 permit 10.0.0.0 8; ip ip-prefix new index 10 deny 10.1.0.0 255.255.0.0 less-equal 24; "
                   "ip ipv6-prefix new permit 2001:db8::/32 greater-equal 40; ip ip-prefix new index 20 deny 11.0.0.0/8"])
        self.assertEqual(self.entries("new"), [{"seq": 10, "action": "deny", "prefix": "10.1.0.0/16", "le": 24}, {"seq": 20, "action": "deny", "prefix": "11.0.0.0/8"},
                                               {"seq": 30, "action": "permit", "prefix": "2001:db8::/32", "ge": 40}])
        for line in ("ip ip-prefix new index 30 permit 10.0.0.0 8", "ip ip-prefix new permit 2001:db8::/32", "ip ip-prefix new index 0 permit 10.0.0.0 8",
                     "undo ip ip-prefix new index 15", "undo ip ip-prefix other", "ip ip-prefix new permit 10.0.0.1 8"):
            self.assertNotEqual(self.ctl(["system-view; " + line])[0], 0, line)
        self.assertEqual(len(self.entries("new")), 3)
        self.good(["system-view; undo ip ip-prefix new index 10; undo ip ipv6-prefix new index 30"])
        self.assertEqual([e["seq"] for e in self.entries("new")], [20])
        self.good(["system-view; undo ip ip-prefix new index 20"])
        self.assertEqual(self.document(0, "candidate"), before)
        self.good(["system-view; ip ip-prefix new index 10 permit 10.0.0.0 8; ip ipv6-prefix new index 20 permit 2001:db8::/32"])
        self.assertNotEqual(self.ctl(["system-view; undo ip ipv6-prefix new index 10"])[0], 0)
        self.good(["system-view; undo ip ipv6-prefix new"])
        self.assertEqual([e["seq"] for e in self.entries("new")], [10])
        self.good(["system-view; ip ip-prefix new index 4294967295 permit 11.0.0.0 8"])
        self.assertEqual(self.ctl(["system-view; ip ip-prefix new permit 12.0.0.0 8"])[0], 1)
        self.good(["system-view; undo ip ip-prefix new"])
        for line in ("undo ip ip-prefix partly index 10", "ip ip-prefix partly index 20 permit 11.0.0.0 8"):
            self.assertEqual(self.ctl(["system-view; " + line])[0], 1, line)
        self.assertEqual(self.document(0, "candidate"), before)
        # entries without numbers are numbered by their places when a line names a place
        self.good(["system-view; ip as-path-filter new permit ^1_; ip as-path-filter new deny ^2_"])
        self.assertEqual(self.entries("new", "as_path_lists"), [{"action": "permit", "regex": "^1_"}, {"action": "deny", "regex": "^2_"}])
        self.good(["system-view; ip as-path-filter new index 15 permit ^3_"])
        self.assertEqual([(e["seq"], e["regex"]) for e in self.entries("new", "as_path_lists")], [(10, "^1_"), (15, "^3_"), (20, "^2_")])
        self.good(["system-view; undo ip as-path-filter new"])
        for word, section, key, value in (("community-filter basic", "community_lists", "community", "no-export"), ("large-community-filter", "large_community_lists", "large_community", "1:2:3"),
                                          ("extcommunity-filter", "ext_community_lists", "ext_community", "rt:1:2")):
            self.good(["system-view; ip %s new index 3 permit %s" % (word, value)])
            self.assertEqual(self.entries("new", section), [{"seq": 3, "action": "permit", key: value}])
            self.good(["system-view; undo ip %s new" % word])
        self.assertEqual(self.document(0, "candidate"), before)


if __name__ == "__main__":
    run_tests()
