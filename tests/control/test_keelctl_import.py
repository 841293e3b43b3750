#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl import frr: bgpd accepts the file (where FRR is installed), keeld --check accepts the result, each key has the value that the line
says, and each line that is not carried is named.

usage: test_keelctl_import.py KEELCTL KEELD
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

KEELCTL, KEELD = sys.argv[1], sys.argv[2]
BGPD = "/usr/lib/frr/bgpd"

EDGE = """frr defaults traditional
hostname edge
ip prefix-list ours seq 20 permit 198.51.100.0/24
ip prefix-list ours seq 10 deny 198.51.100.128/25
ip prefix-list bogons seq 5 permit 10.0.0.0/8 ge 8 le 32
bgp as-path access-list short permit ^64513_
bgp community-list standard cust permit 64512:100
!
router bgp 64512
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
 neighbor transit peer-group
 neighbor transit description both of them
 neighbor transit timers 10 30
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 peer-group transit
 neighbor 192.0.2.2 password secret
 neighbor 192.0.2.3 remote-as 64514
 neighbor 192.0.2.3 peer-group transit
 neighbor 192.0.2.3 ebgp-multihop 4
 neighbor 192.0.2.3 enforce-first-as
 neighbor 192.0.2.9 remote-as internal
 !
 address-family ipv4 unicast
  network 198.51.100.0/24
  redistribute static route-map out
  neighbor transit activate
  neighbor transit soft-reconfiguration inbound
  neighbor transit route-map in in
  neighbor transit route-map out out
  neighbor transit maximum-prefix 1000 warning-only
  neighbor 192.0.2.9 activate
  neighbor 192.0.2.9 next-hop-self
  neighbor 192.0.2.9 route-reflector-client
 exit-address-family
exit
!
route-map in deny 5
 match ip address prefix-list bogons
exit
route-map in permit 20
exit
route-map in permit 10
 match as-path short
 match community cust
 set local-preference 120
 set community 64512:7 additive
exit
route-map out permit 10
 match ip address prefix-list ours
 set as-path prepend 64512 64512
 set metric 5
exit
ip route 203.0.113.0/24 Null0
"""
STRANGE = """ aggregate-address 198.51.100.0/24 summary-only
 bgp bestpath as-path multipath-relax
 neighbor 192.0.2.3 update-source lo
 neighbor 192.0.2.77 shutdown
"""


def node(seq, action, **more):
    return dict({"seq": seq, "action": action}, **more)


class Frr(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="keel-import-")
        self.addCleanup(self.dir.cleanup)

    def imported(self, text):
        path = os.path.join(self.dir.name, "frr.conf")
        with open(path, "w") as f:
            f.write(text)
        p = subprocess.run([KEELCTL, "import", "frr", path], capture_output=True, text=True, timeout=60)
        return p.returncode, json.loads(p.stdout), p.stderr

    def test_an_edge_with_two_upstreams(self):
        status, d, err = self.imported(EDGE)
        self.assertEqual((status, [line for line in err.splitlines() if "not carried" in line]), (0, []))
        self.assertEqual([line for line in err.splitlines() if "changed" in line],
                         ["25:   network 198.51.100.0/24: changed: announced without a route in the table"])
        self.assertNotIn("secret", err)
        path = os.path.join(self.dir.name, "keel.json")
        with open(path, "w") as f:
            json.dump(d, f)
        p = subprocess.run([KEELD, "--no-dataplane", "--check", "-c", path], capture_output=True, text=True, timeout=60)
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        self.assertEqual(d["router"], {"asn": 64512, "router_id": "192.0.2.1"})
        self.assertEqual([e["prefix"] for e in d["prefix_lists"][0]["entries"]], ["198.51.100.128/25", "198.51.100.0/24"])
        self.assertEqual(d["prefix_lists"][1]["entries"], [{"action": "permit", "prefix": "10.0.0.0/8", "ge": 8, "le": 32}])
        self.assertEqual(d["route_policies"], [
            {"name": "in", "nodes": [
                node(5, "deny", match={"prefix_list": "bogons"}),
                node(10, "permit", match={"as_path_list": "short", "community_list": "cust"},
                     set={"local_pref": 120, "communities": {"add": ["64512:7"]}}),
                node(20, "permit")]},
            {"name": "out", "nodes": [node(10, "permit", match={"prefix_list": "ours"}, set={"as_path_prepend": {"asn": 64512, "count": 2}, "med": 5})]}])
        self.assertEqual(d["static_routes"], [{"prefix": "203.0.113.0/24", "blackhole": True}])
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "static", "policy": "out"}])
        self.assertEqual(d["bgp"]["groups"], [{
            "name": "transit", "description": "both of them", "timers": {"keepalive_s": 10, "hold_s": 30},
            "families": {"ipv4-unicast": {"enabled": True, "keep_all_routes": True, "import_policy": "in", "export_policy": "out",
                                          "max_prefixes": {"limit": 1000, "action": "warning"}}}}])
        self.assertEqual(d["bgp"]["peers"], [
            {"address": "192.0.2.2", "asn": 64513, "group": "transit", "password": "secret", "enforce_first_as": False, "families": {"ipv4-unicast": {}}},
            {"address": "192.0.2.3", "asn": 64514, "group": "transit", "multihop": 4, "enforce_first_as": True, "families": {"ipv4-unicast": {}}},
            {"address": "192.0.2.9", "asn": 64512, "enforce_first_as": False, "route_reflector_client": True,
             "families": {"ipv4-unicast": {"enabled": True, "next_hop_self": True}}}])

    def test_bgpd_accepts_the_same_file(self):
        if not os.path.exists(BGPD):
            self.skipTest("FRR is not installed")
        path = os.path.join(self.dir.name, "bgpd.conf")
        with open(path, "w") as f:
            f.write(EDGE)
        os.chmod(self.dir.name, 0o755)
        p = subprocess.run([BGPD, "-C", "-f", path, "-S"], capture_output=True, text=True, timeout=60)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertNotIn("Unknown command", p.stdout + p.stderr)

    def test_what_is_not_carried_is_named(self):
        _, want, _ = self.imported(EDGE)
        status, d, err = self.imported(EDGE.replace(" !\n address-family", STRANGE + " !\n address-family"))
        named = [line for line in err.splitlines() if ": not carried: " in line]
        self.assertEqual((status, len(named)), (1, 4), err)
        for line in STRANGE.splitlines():
            self.assertTrue(any(line in n for n in named), line)
        self.assertTrue(err.endswith("keelctl: 4 lines not carried\n"))
        self.assertEqual(d, want)  # and nothing is guessed
        for entry in ("match ip address prefix-list a b", "match source-vrf x", "set as-path prepend 1 2", "set comm-list cust delete", "call other",
                      "on-match next", "set metric +5"):
            status, d, err = self.imported(EDGE.replace(" set metric 5", " " + entry))
            self.assertEqual((status, err.count("not carried: ")), (1, 1), (entry, err))

    def test_lines_of_other_families_change_no_family(self):
        _, want, _ = self.imported(EDGE)
        block = "".join(" address-family %s\n  neighbor 192.0.2.9 activate\n  neighbor 192.0.2.9 route-map in in\n  network 192.0.2.128/25\n "
                        "exit-address-family\n" % f for f in ("ipv4 vpn", "l2vpn evpn", "ipv4 multicast", "ipv6 labeled-unicast"))
        status, d, err = self.imported(EDGE.replace("exit\n!\nroute-map in deny", block + "exit\n!\nroute-map in deny"))
        self.assertEqual((status, err.count("not carried: ")), (1, 16), err)
        self.assertEqual(d, want)

    def test_a_permit_without_its_condition_is_left_out(self):
        """A node that lost a match, or the nodes after it, would permit what bgpd denies. A deny stays."""
        _, want, _ = self.imported(EDGE)
        for line in ("match rpki valid", "match ip address 7", "call other", "on-match next", "continue", "match as-path again"):
            status, d, err = self.imported(EDGE.replace(" match as-path short\n", " match as-path short\n %s\n" % line))
            self.assertEqual((status, err.count("node 10 would permit too much, and is left out") + err.count("one list of a kind")), (1, 1), err)
            self.assertEqual([n["seq"] for n in d["route_policies"][0]["nodes"]], [5, 20], line)
            self.assertEqual(d["route_policies"][1:], want["route_policies"][1:])
        status, d, err = self.imported(EDGE.replace(" match ip address prefix-list bogons\n", " match rpki invalid\n"))
        self.assertEqual((status, d["route_policies"][0]["nodes"][0]), (1, node(5, "deny", match={})))
        status, d, err = self.imported(EDGE.replace(" set metric 5", " set community" + " 64512:1" * 80))
        self.assertEqual((status, err.count("not carried: the line has too many words")), (1, 1))

    def test_defaults_of_bgpd(self):
        """Without `no bgp default ipv4-unicast` each neighbor has IPv4 unicast; without ebgp-requires-policy all routes pass."""
        text = "router bgp 64512\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n neighbor 192.0.2.2 remote-as 64513\n"
        status, d, _ = self.imported(text)
        self.assertEqual(status, 0)
        self.assertEqual(d["bgp"]["peers"][0]["families"], {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}})
        status, d, _ = self.imported(text.replace(" no bgp ebgp-requires-policy\n", " no bgp default ipv4-unicast\n"))
        self.assertEqual(d["bgp"]["peers"][0]["families"], {})


if __name__ == "__main__":
    del sys.argv[1:]
    unittest.main()
