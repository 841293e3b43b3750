#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl import {bird | frr | vrp}: the other daemon accepts the file (where it is installed), keeld --check accepts the result, each key has
the value that the line says, and each line that is not carried is named.

usage: test_keelctl_import.py KEELCTL KEELD
"""
import ipaddress
import json
import os
import re
import shutil
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


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="keel-import-")
        self.addCleanup(self.dir.cleanup)

    def imported(self, text, accepted=True):
        """Exit status, document, standard error; keeld accepts the document."""
        path = os.path.join(self.dir.name, "other.conf")
        with open(path, "w") as f:
            f.write(text)
        p = subprocess.run([KEELCTL, "import", self.DIALECT, path], capture_output=True, text=True, timeout=300)
        if accepted:
            with open(path + ".json", "w") as f:
                f.write(p.stdout)
            check = subprocess.run([KEELD, "--no-dataplane", "--check", "-c", path + ".json"], capture_output=True, text=True, timeout=300)
            self.assertEqual((check.returncode, check.stderr), (0, ""), text)
        return p.returncode, json.loads(p.stdout), p.stderr


    def verdict(self, text, line, why=": not carried: "):
        """The import says `why` of this line, and of no other; the document and standard error."""
        status, d, err = self.imported(text, accepted=True)
        named = [x for x in err.splitlines() if why in x]
        self.assertEqual(status, 1 if "not carried" in why else 0, err)
        self.assertEqual(len(named), 1, err)
        self.assertIn(line, named[0])
        return d, err

    def refused(self, text, *verdicts, head=""):
        """keeld accepts the document, and the import says these verdicts; the document."""
        _, d, err = self.imported(head + text, accepted=True)
        for verdict in verdicts:
            self.assertIn(verdict, err)
        return d


THIRD_PARTY = "changed: routes of other neighbours on the same subnet get the address of this router as next hop"
GATEWAY_NEAR = "changed: static routes through a gateway on the same subnet get the address of this router as next hop"
NOT_GATEWAY = "changed: internal neighbours get the address of this router as next hop of static routes, not the gateway"
# 2^32, 2^64 - 1, 2^64, and more than all of C's types hold.
TOO_LARGE = (4294967296, 18446744073709551615, 18446744073709551616, 10 ** 30)

HEAD = "router bgp 64512\n bgp router-id 192.0.2.1\n"


class Frr(Case):
    DIALECT = "frr"

    def imported(self, text, accepted=False):
        return super().imported(text, accepted)

    def test_an_edge_with_two_upstreams(self):
        status, d, err = self.imported(EDGE)
        self.assertEqual((status, [line for line in err.splitlines() if "not carried" in line]), (0, []))
        self.assertEqual([line for line in err.splitlines() if "changed" in line],
                         ["9: router bgp 64512: changed: routes with BLACKHOLE do not get NO_EXPORT",
                          "25:   network 198.51.100.0/24: changed: announced without MED 0, and without a route in the table",
                          "55: 192.0.2.2: " + THIRD_PARTY, "56: 192.0.2.3: " + THIRD_PARTY])
        self.assertNotIn("secret", err)
        path = os.path.join(self.dir.name, "keel.json")
        with open(path, "w") as f:
            json.dump(d, f)
        p = subprocess.run([KEELD, "--no-dataplane", "--check", "-c", path], capture_output=True, text=True, timeout=300)
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
            {"address": "192.0.2.2", "asn": 64513, "group": "transit", "password": "secret", "enforce_first_as": False, "graceful_shutdown": {"honour": True},
             "families": {"ipv4-unicast": {}}},
            {"address": "192.0.2.3", "asn": 64514, "group": "transit", "multihop": 4, "enforce_first_as": True, "graceful_shutdown": {"honour": True},
             "families": {"ipv4-unicast": {}}},
            {"address": "192.0.2.9", "asn": 64512, "enforce_first_as": False, "graceful_shutdown": {"honour": True}, "route_reflector_client": True,
             "families": {"ipv4-unicast": {"enabled": True, "next_hop_self": True}}}])

    def test_lists_that_keeld_would_refuse(self):
        for line, why in (("bgp as-path access-list P permit ^([0-9]+)(_\\1)+$", "a reference to a group"),
                          ("bgp community-list 100 permit 65002:1", "the regular expression is not of the form")):
            status, d, err = self.imported(EDGE + line + "\n", accepted=True)
            self.assertEqual((status, err.count(": not carried: " + why)), (1, 1), err)

    def test_numbers_of_more_than_32_bits(self):
        """No number is clamped, also no number without a meaning, as that of an entry."""
        text = EDGE.replace(" neighbor 192.0.2.3 ebgp-multihop 4\n", "")
        for n in TOO_LARGE:
            for old, new in (("remote-as 64514", "remote-as %d"), ("set metric 5", "set metric %d"), ("set local-preference 120", "set local-preference %d"),
                             ("set as-path prepend 64512 64512", "set as-path prepend %d"), ("seq 5 permit", "seq %d permit"), ("le 32", "le %d"),
                             ("Null0", "Null0 tag %d"), ("transit timers 10 30", "transit timers 10 %d"), ("maximum-prefix 1000", "maximum-prefix %d")):
                status, d, err = self.imported(text.replace(old, new % n), accepted=True)
                named = [x for x in err.splitlines() if ": not carried: " in x and str(n) in x]
                self.assertEqual((status, len(named)), (1, 1), (new % n, err))
                self.assertNotIn("4294967295", json.dumps(d))

    def test_passwords(self):
        """TCP MD5 takes 80 octets."""
        for n, status in ((80, 0), (81, 1)):
            got, d, err = self.imported(EDGE.replace("password secret", "password " + n * "x"), accepted=True)
            self.assertEqual((got, err.count("password: not carried: a password has at most 80 octets")), (status, status), err)
            self.assertEqual(d["bgp"]["peers"][0].get("password"), None if status else n * "x")

    def test_a_later_limit_replaces_the_limit(self):
        d = self.imported(EDGE.replace(" exit-address-family", "  neighbor transit maximum-prefix 7 restart 2\n  neighbor transit maximum-prefix 9 warning-only\n exit-address-family"),
                          accepted=True)[1]
        self.assertEqual(d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["max_prefixes"], {"limit": 9, "action": "warning"})

    def test_addresses_and_ids_that_keeld_refuses(self):
        d = self.refused(" bgp router-id 192.0.2\n bgp router-id 192.0.2.1\n bgp cluster-id 5\n neighbor 0.0.0.0 remote-as 64513\n neighbor fe80::1 remote-as 64513\n"
                         " neighbor fe80::2%e0 remote-as 64513\n neighbor fe80::2%e0 ebgp-multihop 2\n neighbor 2001:db8::1 remote-as 64513\n neighbor 2001:DB8:0::1 remote-as 64514\n"
                         " neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 update-source 2001:db8::2\n neighbor 192.0.2.3 remote-as 64513\n"
                         " neighbor 192.0.2.3 update-source 192.0.2.3\n neighbor 192.0.2.4 remote-as 23456\n neighbor 192.0.2.5 remote-as 0\n",
                         'bgp router-id 192.0.2: not carried: "192.0.2" is not an IPv4 address other than 0.0.0.0', "0.0.0.0: not carried: no address of a host",
                         "fe80::1: not carried: no address of a host; a link-local address needs %INTERFACE", "fe80::2%e0: not carried: multihop of a link-local address",
                         "192.0.2.2: not carried: source is of another family than the neighbour", "192.0.2.3: not carried: source is the address of the neighbour",
                         'remote-as 23456: not carried: "23456" is not an AS number', 'remote-as 0: not carried: "0" is not an AS number', head="router bgp 64512\n")
        self.assertEqual([p["address"] for p in d["bgp"]["peers"]], ["fe80::2%e0", "2001:db8::1", "192.0.2.2", "192.0.2.3"])
        self.assertEqual((d["bgp"]["cluster_id"], d["bgp"]["peers"][1]["asn"]), (5, 64514))

    def test_keys_of_other_kinds_of_sessions(self):
        """keeld refuses them; a range whose group has such a key is left out, and a neighbour overrides the key of its group."""
        d = self.refused(" neighbor g peer-group\n neighbor g remote-as 64513\n neighbor g route-reflector-client\n neighbor 192.0.2.2 peer-group g\n"
                         " neighbor 192.0.2.3 remote-as 64512\n neighbor 192.0.2.3 local-as 64999\n neighbor 192.0.2.3 route-server-client\n neighbor 192.0.2.3 remove-private-AS\n"
                         " neighbor 192.0.2.3 as-override\n neighbor 192.0.2.4 remote-as 64514\n neighbor 192.0.2.4 local-as 64514\n neighbor 192.0.2.4 next-hop-self\n"
                         " neighbor 192.0.2.4 attribute-unchanged next-hop\n bgp listen range 203.0.113.0/24 peer-group g\n",
                         "192.0.2.2: not carried: route_reflector_client of an external neighbour", "192.0.2.3: not carried: local_as of an internal neighbour",
                         "192.0.2.3: not carried: route_server_client of an internal neighbour", "192.0.2.3: not carried: remove_private_as of an internal neighbour",
                         "192.0.2.3: not carried: as_override of an internal neighbour", "192.0.2.4: not carried: local_as is the AS number of the neighbour",
                         "192.0.2.4: not carried: next_hop_unchanged beside next_hop_self", "203.0.113.0/24: not carried: the range is left out", head=HEAD)
        self.assertEqual((d["bgp"]["listen_ranges"], d["bgp"]["peers"][0]["route_reflector_client"]), ([], False))

    def test_elements_that_occur_twice(self):
        d = self.refused(" neighbor g peer-group\n neighbor g remote-as 64513\n bgp listen range 203.0.113.0/24 peer-group g\n bgp listen range 203.0.113.0/24 peer-group g\n"
                         " network 198.51.100.0/24\n network 198.51.100.0/24\nip route 203.0.113.0/24 192.0.2.7\nip route 203.0.113.0/24 192.0.2.7\nip route 203.0.113.0/24 blackhole\n"
                         "ip route 203.0.113.0/25 0.0.0.0\nipv6 route 2001:db8::/32 192.0.2.7\nrpki\n rpki cache 192.0.2.20 323\n rpki cache 192.0.2.20 323\n rpki cache 192.0.2.21 0\n"
                         " rpki cache 224.0.0.1 323\nexit\n", "not carried: the range occurs before", "192.0.2.7: changed: left out; the route occurs before",
                         "blackhole: not carried: the prefix has a route of another kind", "0.0.0.0: not carried: the next hop is no address of a host",
                         "not carried: an IPv6 prefix needs an IPv6 next hop", "323: not carried: the cache occurs before", " 0: not carried: port is a number from 1 to 65535",
                         "224.0.0.1 323: not carried: no address of a host", head=HEAD)
        self.assertEqual((len(d["bgp"]["listen_ranges"]), len(d["bgp"]["networks"]), len(d["static_routes"]), len(d["rpki"]["caches"])), (1, 1, 1, 1))

    def test_interfaces_of_neighbours(self):
        """The interface of a link-local neighbour is part of its address; caches and neighbours need addresses."""
        d = self.refused(" neighbor fe80::1 remote-as 64513\n neighbor fe80::1 interface eth2\n neighbor fe80::2 remote-as 64513\n neighbor fe80::2 interface a/b\n neighbor 192.0.2.2 remote-as 64513\n"
                         " neighbor 192.0.2.2 interface eth2\n neighbor eth0 interface remote-as external\n neighbor fe80::1 description west\nrpki\n rpki cache rtr.example.net 3323 preference 1\n",
                         "neighbor fe80::1 interface eth2: done", "fe80::2 interface a/b: not carried: ", "192.0.2.2 interface eth2: not carried: keel.json",
                         "neighbor eth0 interface remote-as external: not carried: write the address of the neighbour", "preference 1: not carried: write the address of the cache",
                         "fe80::2: not carried: no address of a host", head=HEAD)
        self.assertEqual([(p["address"], p.get("description")) for p in d["bgp"]["peers"]], [("fe80::1%eth2", "west"), ("192.0.2.2", None)])

    def test_long_descriptions(self):
        d = self.refused(" neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 description %s\n" % ("x" + 3000 * "é"), "description: changed: only the first 4095 octets are kept", head=HEAD)
        self.assertEqual(d["bgp"]["peers"][0]["description"], "x" + 2047 * "é")

    def test_a_large_file(self):
        """ELEMENTS (30,000) of three kinds take processor time in proportion: none is compared with all others, which takes 100 times as long for ten times as many."""
        def spent(n):
            prefixes, before = ["10.%d.%d.%d/32" % (i >> 16, i >> 8 & 255, i & 255) for i in range(n)], os.times()
            status, d, _ = self.imported(HEAD + "".join(" network %s\n" % p for p in prefixes) + "".join("ip route %s blackhole\n" % p for p in prefixes) +
                                         "".join("route-map m permit %d\n match tag %d\n" % (i, i) for i in range(1, n + 1)))
            self.assertEqual((status, len(d["bgp"]["networks"]), len(d["static_routes"]), len(policy(d, "m"))), (0, n, n, n))
            return os.times().children_user - before.children_user
        n = int(os.environ.get("ELEMENTS", 30000))
        few, many = spent(n // 10), spent(n)
        self.assertLess(many, 20 * few)

    def test_numbers_that_keeld_refuses(self):
        d = self.refused(" neighbor g peer-group\n neighbor g timers 20 90\n neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 peer-group g\n neighbor 192.0.2.2 timers 20 15\n"
                         " neighbor 192.0.2.2 timers connect 0\n neighbor 192.0.2.2 advertisement-interval 601\n neighbor 192.0.2.2 ebgp-multihop 256\n"
                         " neighbor 192.0.2.2 maximum-prefix 1 restart 2000\n neighbor 192.0.2.3 remote-as 64513\n neighbor 192.0.2.3 timers 1 2\n neighbor 192.0.2.3 maximum-prefix 0\n"
                         " neighbor 192.0.2.3 allowas-in 256\n", "192.0.2.2: changed: the keepalive time is a third of the hold time",
                         "not carried: connect_retry_s is a number from 1 to 65535", "not carried: min_advertisement_s is a number from 0 to 600",
                         "not carried: multihop is a number from 1 to 255", "restart 2000: changed: the session is established again after a day",
                         "not carried: 1 2 are no timers of keeld", "not carried: limit is a number from 1 to 4294967295", "not carried: allow_as_in is a number from 0 to 255", head=HEAD)
        self.assertEqual(d["bgp"]["peers"][0]["timers"], {"hold_s": 15, "keepalive_s": 5})

    def test_entries_that_keeld_refuses(self):
        """A list without an entry is not known, so its node permits nothing."""
        for line, match, why in (("ip prefix-list l permit 10.0.0.0/8 le 33", "ip address prefix-list l", "the range of lengths is empty"),
                                 ("ip prefix-list l permit 10.0.0.0/8 ge 24 le 16", "ip address prefix-list l", "the range of lengths is empty"),
                                 ("bgp as-path access-list l permit 64512)", "as-path l", "keeld does not read the expression"),
                                 ("bgp community-list expanded l permit _76568:[0-9]+_", "community l", "the regular expression is not of the form")):
            d = self.refused("%s\nroute-map m permit 10\n match %s\n" % (line, match), line + ": not carried: " + why, "m: not carried: node 10: an entry of the list", head=HEAD)
            self.assertEqual(policy(d, "m"), [])

    def test_lines_of_a_node_that_keeld_refuses(self):
        d = self.refused("route-map m permit 0\nroute-map m permit 10\n match origin strange\nroute-map m permit 20\n set origin strange\n set ip next-hop 0.0.0.0\n"
                         " set ipv6 next-hop global strange\n set as-path prepend 0\n set as-path prepend last-as 65\nroute-map m permit 30\n match peer 224.0.0.1\n",
                         "permit 0: not carried", "match origin strange: not carried", "set origin strange: not carried", 'not carried: a policy cannot set the next hop "0.0.0.0"',
                         'not carried: a policy cannot set the next hop "strange"', "prepend 0: not carried", "last-as 65: not carried", "match peer 224.0.0.1: not carried", head=HEAD)
        self.assertEqual([n["seq"] for n in policy(d, "m")], [20])

    def test_policies_that_call_each_other(self):
        d = self.refused("route-map a permit 10\n call b\nroute-map b permit 10\n call a\n", "a: not carried: node 10: the policy calls itself", head=HEAD)
        self.assertEqual((policy(d, "a")[0]["action"], policy(d, "b")[0]["call"]), ("deny", "a"))

    def test_expressions_of_as_paths(self):
        """Expressions as operators write them are carried; those with a different meaning in keeld are not."""
        text = "bgp as-path access-list l %s %s\nroute-map m permit 10\n match as-path l\n"
        for regex in ("^65001_", "_65001$", "^(65001_)+$", ".*", "^$", "[0-9]+", "_(64512|64513)_", "_6451[2-9]_", "^65001(_65001)*$", "^([0-9]+_){1,3}65001$",
                      "([0-9]+_){25,}", "(_[0-9]+){0,9}_65001$", "(____){166}" + 200 * "_", "(____){0,166}", "(_){0,250}" + 200 * "_", "(^|_)65001(_|$)", "_65001_.*_65002_"):
            d = self.refused(text % ("permit", regex), "permit %s: done" % regex, head=HEAD)
            self.assertEqual(d["as_path_lists"][0]["entries"], [{"action": "permit", "regex": regex}])
        for regex in (r"\<65001\>", r"\`65001", r"65001\'", r"65001\_", "^65001[0-9_]*$", "((a{3}_){200}b)", "(________){200}", "((_{2}){2}){2}", "(_[0-9]{1,5}){3}", "_{255}_{255}_{255}_{255}"):
            d = self.refused(text % ("deny", regex), "deny %s: not carried: keeld does not read the expression" % regex, head=HEAD)
            self.assertEqual(policy(d, "m"), [], regex)

    def test_long_chains_of_calls(self):
        """keeld puts the nodes of a called policy in the place of each call."""
        text = " redistribute static route-map p0\n" + "".join("route-map p%d permit %d\n call p%d\n" % (i, k, i + 1) for i in range(30) for k in range(1, 11))
        d = self.refused(text + "route-map p30 permit 10\n", "not carried: node 1: calls of too many policies or nodes; the node denies", head=HEAD)
        self.assertEqual({n["action"] for i in range(25) for n in policy(d, "p%d" % i)} - {"permit"}, {"deny"})

    def test_a_node_that_changes_its_action(self):
        """A deny without its condition denies; a permit without it is left out, also where the node denied before."""
        d = self.refused("route-map m permit 10\n match strange\nroute-map m deny 10\nroute-map m permit 20\n call n\nroute-map m deny 20\nroute-map m permit 20\n"
                         "route-map n permit 10\n", "route-map m permit 20: not carried: node 20 would permit too much", head=HEAD)
        self.assertEqual([(n["seq"], n["action"]) for n in policy(d, "m")], [(10, "deny")])

    def test_addresses_in_the_place_of_names(self):
        d = self.refused(" neighbor 192.0.2.2 peer-group\nroute-map m permit 10\n match peer fe80::2%e0\n", "neighbor 192.0.2.2 peer-group: not carried: ",
                         "match peer fe80::2%e0: not carried: ", head=HEAD)
        self.assertEqual((d["bgp"].get("groups"), policy(d, "m")), (None, []))

    def test_validation_in_redistribution(self):
        d = self.refused(" redistribute static route-map v\nroute-map v permit 10\n match rpki valid\n",
                         "v: not carried: validation in a policy for redistribution; no route is redistributed", head=HEAD)
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "static", "policy": "deny-all"}])

    def test_texts_that_are_not_utf_8(self):
        """Octets are letters of ISO 8859-1, so two names stay two; NUL hides nothing."""
        path = os.path.join(self.dir.name, "latin1.conf")
        with open(path, "wb") as f:
            f.write(HEAD.encode() + b" neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 description caf\xe9\n neighbor 192.0.2.2 route-map \xe4 in\n"
                    b" neighbor 192.0.2.2 route-map \xf6 out\nroute-map \xe4 deny 10\nroute-map \xf6 permit 10\nroute-map m permit 10\0 match as-path x\n")
        p = subprocess.run([KEELCTL, "import", "frr", path], capture_output=True, text=True, timeout=300)
        d = json.loads(p.stdout)
        peer = d["bgp"]["peers"][0]
        self.assertEqual((peer["description"], peer["families"]["ipv4-unicast"]["import_policy"], peer["families"]["ipv4-unicast"]["export_policy"]), ("café", "n-__", "n-__-2"))
        self.assertEqual([policy(d, n)[0]["action"] for n in ("n-__", "n-__-2")], ["deny", "permit"])
        self.assertIsNone(next((x for x in d["route_policies"] if x["name"] == "m"), None), p.stderr)

    def test_gateways_of_static_routes(self):
        """Internal neighbours without next-hop-self get the gateway, as bgpd sends it; the policy of the redistribution stays."""
        text = EDGE.replace("ip route 203.0.113.0/24 Null0", "ip route 198.51.100.0/24 192.0.2.100\nip route 203.0.113.0/24 192.0.2.100\nip route 10.8.0.0/16 10.1.1.1\n"
                            "ip route 10.9.0.0/16 Null0").replace("  neighbor 192.0.2.9 next-hop-self\n", "")
        _, d, err = self.imported(text, accepted=True)
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "static", "policy": "static-gateways"}])
        self.assertEqual(policy(d, "static-gateways"), [
            node(10, "permit", match={"prefix_list": "static-gateway"}, call="out", set={"next_hop": "192.0.2.100"}),
            node(20, "permit", match={"prefix_list": "static-gateway-2"}, call="out", set={"next_hop": "10.1.1.1"}), node(30, "permit", call="out")])
        self.assertEqual([[e["prefix"] for e in entries(d, "prefix_lists", "static-gateway" + n)] for n in ("", "-2")], [["198.51.100.0/24", "203.0.113.0/24"], ["10.8.0.0/16"]])
        self.assertNotIn(NOT_GATEWAY, err)
        # no internal neighbour gets them: nothing to do
        for own in (text.replace("  neighbor 192.0.2.9 route-", "  neighbor 192.0.2.9 next-hop-self\n  neighbor 192.0.2.9 route-"), text.replace("remote-as internal", "remote-as 64515")
                    .replace("  neighbor 192.0.2.9 route-reflector-client\n", ""), text.replace("  redistribute static route-map out\n", "")):
            self.assertNotIn("static-gateways", json.dumps(self.imported(own, accepted=True)[1]))
        # a policy that sets the next hop itself, and a neighbour that gets next hops as they are
        for own in (text.replace(" set metric 5", " set ip next-hop 192.0.2.5"), text.replace("  neighbor transit activate", "  neighbor 192.0.2.3 attribute-unchanged next-hop\n"
                                                                                                "  neighbor transit activate"),
                    text.replace("  neighbor transit activate", "  neighbor transit attribute-unchanged next-hop\n  neighbor transit activate")):
            _, d, err = self.imported(own, accepted=True)
            self.assertEqual((err.count(": static: " + NOT_GATEWAY), d["bgp"]["redistribute"][0]["policy"]), (1, "out"), err)
        _, d, err = self.imported(text + "ip route 10.8.0.0/16 10.1.1.2\n", accepted=True)
        self.assertEqual(err.count(": static: changed: internal neighbours get the address of this router as next hop of static routes with several gateways"), 1, err)
        self.assertEqual(len(policy(d, "static-gateways")), 2)

    def test_next_hops_of_third_routers(self):
        """External neighbours on one subnet; a gateway on the subnet of a neighbour."""
        text = EDGE.replace("192.0.2.3", "198.51.100.3")
        for change, want in (((), []), (("198.51.100.3", "192.0.2.3"), [THIRD_PARTY] * 2), (("198.51.100.3 peer", "192.0.2.3 shutdown\n neighbor 198.51.100.3 peer"), []),
                             (("  neighbor 192.0.2.9 next-hop-self", "  neighbor transit next-hop-self\n  neighbor 192.0.2.9 next-hop-self"), []),
                             (("  neighbor 192.0.2.9 next-hop-self", "  neighbor transit route-server-client\n  neighbor 192.0.2.9 next-hop-self"), []),
                             (("203.0.113.0/24 Null0", "203.0.113.0/24 198.51.100.77"), [GATEWAY_NEAR])):
            _, d, err = self.imported(text.replace("192.0.2.9", "10.0.0.9").replace(*change) if change else text.replace("192.0.2.9", "10.0.0.9"))
            self.assertEqual([line.split(": ", 2)[2] for line in err.splitlines() if THIRD_PARTY in line or GATEWAY_NEAR in line], want, (change, err))

    def test_tags(self):
        """keeld forgets the tag of a static route: redistribution sees the tag, policies for neighbours do not."""
        _, d, err = self.imported(EDGE.replace(" match as-path short\n", " match tag 7\n"), accepted=True)
        self.assertNotIn("no tag", err)
        why = ": out: not carried: node 10: routes have no tag in a policy for a neighbour; the node "
        for own, said, left in (("permit 10\n match tag 7", "permits nothing", []), ("deny 10\n match tag 7", "denies without the condition", [node(10, "deny", match={})]),
                                ("permit 10\n match tag 7\n on-match next\nroute-map out permit 20", "permits nothing", [node(20, "permit", match={"prefix_list": "ours"})]),
                                ("permit 10\n match tag 7\n on-match goto 30\nroute-map out permit 20\nroute-map out deny 30", "permits nothing",
                                 [node(10, "deny", match={}), node(20, "permit"), node(30, "deny", match={"prefix_list": "ours"})])):
            text = EDGE.replace("route-map out permit 10", "route-map out " + own).replace(" set as-path prepend 64512 64512\n set metric 5\n", "")
            if "on-match" not in own:
                text = text.replace(" match ip address prefix-list ours\n", "")
            status, d, err = self.imported(text, accepted=True)
            self.assertEqual((status, err.count(why + said), policy(d, "out")), (1, 1, left), err)
        _, d, err = self.imported(EDGE.replace("redistribute static route-map out", "redistribute static route-map tagged") + "route-map tagged permit 10\n match tag 7\nexit\n", accepted=True)
        self.assertEqual(("no tag" in err, policy(d, "tagged")), (False, [node(10, "permit", match={"tag": 7})]), err)

    def test_timers_and_paths(self):
        """Values that keeld has in another form, or not."""
        for timers, want, changed in (("0 0", {"hold_s": 0}, 0), ("256 30", {"hold_s": 30}, 0), ("10 30", {"keepalive_s": 10, "hold_s": 30}, 0), ("0 30", {"hold_s": 30}, 1)):
            _, d, err = self.imported(EDGE.replace("timers 10 30", "timers " + timers), accepted=True)
            self.assertEqual((d["bgp"]["groups"][0]["timers"], err.count("changed: the keepalive time is a third of the hold time")), (want, changed), err)
        for paths, want, changed in ((64, 64, 0), (65, 64, 1)):
            _, d, err = self.imported(EDGE.replace(" exit-address-family", "  maximum-paths %d\n exit-address-family" % paths), accepted=True)
            self.assertEqual((d["bgp"]["max_paths"], err.count("changed: max_paths is 64, the largest value")), (want, changed), err)

    def test_a_jump_to_a_node_that_is_left_out(self):
        """Behind the jump bgpd denies what the node does not match."""
        for jump in ("on-match next", "on-match goto 20", "continue"):
            _, d, err = self.imported(EDGE + "route-map j permit 10\n match community cust\n %s\nroute-map j permit 20\n match ip address 7\nexit\n" % jump, accepted=True)
            self.assertEqual(policy(d, "j"), [node(10, "permit", match={"community_list": "cust"}, goto=30), node(30, "deny")], err)
        _, d, _ = self.imported(EDGE + "route-map j permit 10\n on-match next\nexit\n", accepted=True)
        self.assertEqual(policy(d, "j"), [node(10, "permit")])

    def test_conditions_of_a_node(self):
        """A second line of one kind replaces the first; lines need no space before them; 0 and 100 as preference."""
        _, d, err = self.imported(EDGE + "ip prefix-list B permit 10.0.0.0/8\nroute-map j deny 10\n match ip address prefix-list bogons\n match ip address prefix-list B\n"
                                  " match as-path short\n match as-path long\nexit\nbgp as-path access-list long permit _1_\n", accepted=True)
        self.assertEqual(policy(d, "j")[0]["match"], {"prefix_list": "B", "as_path_list": "long"}, err)
        status, d, err = self.imported(EDGE + "route-map j permit 10\nmatch community cust\nset metric 5\nmatch unknown thing\nroute-map j permit 20\nmatch as-path short\n", accepted=True)
        self.assertEqual((status, policy(d, "j")), (1, [node(20, "permit", match={"as_path_list": "short"})]), err)
        for n, good in ((0, False), (100, False), (50, True)):
            status, d, err = self.imported(EDGE + "route-map j permit 10\n match local-preference %d\nexit\n" % n, accepted=True)
            self.assertEqual((status, len(policy(d, "j"))), (int(not good), int(good)), err)
        _, d, err = self.imported(EDGE + "route-map j permit 10\n set ip next-hop 192.0.2.7\n set ipv6 next-hop global 2001:db8::7\nexit\n", accepted=True)
        self.assertEqual((policy(d, "j")[0]["set"], err.count("not carried: a node sets the next hop of one family")), ({"next_hop": "192.0.2.7"}, 1))
        status, d, err = self.imported(EDGE + "bgp as-path access-list long permit %s\nroute-map j permit 10\n match as-path long\nexit\n" % ("1" * 260), accepted=True)
        self.assertEqual((status, policy(d, "j"), err.count("not carried: the expression is too long")), (1, [], 1), err)

    def test_keys_of_one_family(self):
        """keeld reflects routes of all families of a client."""
        for line, key in (("route-reflector-client", "route_reflector_client"), ("route-server-client", "route_server_client")):
            text = EDGE.replace("  neighbor 192.0.2.9 route-reflector-client\n", "  neighbor 192.0.2.9 %s\n" % line).replace("remote-as internal", "remote-as internal" if "refl" in line else "remote-as 64515")
            for more, want in (("", True), (" address-family ipv6 unicast\n  neighbor 192.0.2.9 activate\n exit-address-family\n", None),
                               (" address-family ipv6 unicast\n  neighbor 192.0.2.9 activate\n  neighbor 192.0.2.9 %s\n exit-address-family\n" % line, True)):
                status, d, err = self.imported(text.replace("exit\n!\nroute-map in deny", more + "exit\n!\nroute-map in deny"), accepted=True)
                self.assertEqual((d["bgp"]["peers"][2].get(key), err.count("192.0.2.9: not carried: %s of one family" % key)), (want, int(want is None)), err)

        _, d, err = self.imported("router bgp 64512\n bgp router-id 192.0.2.1\n neighbor 2001:db8::2 remote-as 64512\n address-family ipv6 unicast\n  neighbor 2001:db8::2 activate\n"
                                  "  neighbor 2001:db8::2 route-reflector-client\n", accepted=True)
        self.assertEqual((d["bgp"]["peers"][0]["route_reflector_client"], err.count("changed: route_reflector_client holds for IPv4 too")), (True, 1), err)

    def test_keys_of_groups(self):
        """What a peer inherits: the check of the first AS number, times, communities, limits."""
        base = EDGE.replace(" neighbor 192.0.2.3 enforce-first-as\n", " neighbor transit enforce-first-as\n")
        _, d, _ = self.imported(base, accepted=True)
        self.assertEqual(([p.get("enforce_first_as") for p in d["bgp"]["peers"]], d["bgp"]["groups"][0]["enforce_first_as"]), ([None, None, False], True))
        _, d, _ = self.imported(EDGE.replace("transit timers 10 30", "transit timers connect 7").replace(" no bgp default", " timers bgp 5 15\n no bgp default"), accepted=True)
        self.assertEqual((d["bgp"]["groups"][0]["timers"], [p["timers"] for p in d["bgp"]["peers"]]), ({"connect_retry_s": 7}, [{"keepalive_s": 5, "hold_s": 15}] * 3))
        _, d, err = self.imported(EDGE.replace("  neighbor transit activate", "  no neighbor transit send-community\n  neighbor 192.0.2.3 send-community\n  neighbor transit activate"), accepted=True)
        self.assertEqual((d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["send_communities"], d["bgp"]["peers"][1]["families"]["ipv4-unicast"]["send_communities"]), (False, True))
        self.assertIn("changed: communities of no kind are sent", err)
        for kinds, said in ("both", 1), ("all", 0):
            _, d, err = self.imported(EDGE.replace("  neighbor transit activate", "  no neighbor transit send-community %s\n  neighbor transit activate" % kinds), accepted=True)
            self.assertEqual((d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["send_communities"], err.count("communities of no kind are sent")), (False, said), err)
        status, d, err = self.imported(EDGE.replace("maximum-prefix 1000 warning-only", "maximum-prefix 1000 restart 5\n  neighbor 192.0.2.3 maximum-prefix 5 warning-only"), accepted=True)
        self.assertEqual((status, d["bgp"]["peers"][1]["families"]["ipv4-unicast"]["max_prefixes"]), (0, {"limit": 5, "action": "warning"}), err)
        self.assertEqual(err.count("changed: max_prefixes counts refused routes too, because keeld keeps them"), 1, err)  # of 192.0.2.2; a warning ends no session
        status, d, err = self.imported(EDGE.replace(" neighbor 192.0.2.3 enforce", " neighbor 192.0.2.3 shutdown rtt 50\n neighbor 192.0.2.2 local-as 64999\n neighbor 192.0.2.3 enforce"), accepted=True)
        self.assertEqual((status, d["bgp"]["peers"][1].get("shutdown"), err.count("changed: received paths do not get this AS number")), (1, None, 1), err)

    def test_ranges(self):
        """A range without an AS number would take neighbours of all numbers; its group has the defaults of bgpd."""
        text = EDGE.replace(" !\n address-family", " bgp listen range 192.0.2.64/27 peer-group customers\n neighbor customers peer-group\n%s timers bgp 3 9\n no bgp ebgp-requires-policy\n !\n address-family")
        status, d, err = self.imported(text % "", accepted=True)
        self.assertEqual((status, d["bgp"]["listen_ranges"]), (1, []), err)
        self.assertIn('192.0.2.64/27: not carried: group "customers" has no AS number; the range is left out', err)
        status, d, err = self.imported((text % " neighbor customers remote-as 64520\n").replace("  neighbor transit activate", "  neighbor customers activate\n  neighbor transit activate"), accepted=True)
        g = next(g for g in d["bgp"]["groups"] if g["name"] == "customers")
        self.assertEqual((g["timers"], g["enforce_first_as"], g["families"]["ipv4-unicast"]["import_policy"]), ({"keepalive_s": 3, "hold_s": 9}, False, "accept-all"), err)

    def test_lines_of_a_renamed_group(self):
        """The verdict on the name hides no line that is lost."""
        status, d, err = self.imported(EDGE.replace("transit", "external").replace("maximum-prefix 1000 warning-only", "maximum-prefix 100").replace(
            " neighbor 192.0.2.3 ebgp", " neighbor external weight 5\n neighbor 192.0.2.3 ebgp"), accepted=True)
        self.assertEqual((status, d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["max_prefixes"]["limit"]), (1, 100), err)
        self.assertTrue(any("weight 5: not carried" in line for line in err.splitlines()), err)

    def test_the_profile_datacenter(self):
        status, d, err = self.imported("frr defaults datacenter\nrouter bgp 64512\n bgp router-id 192.0.2.1\n neighbor 192.0.2.2 remote-as 64513\n")
        self.assertEqual((status, d["bgp"]["peers"][0]["timers"], d["bgp"]["peers"][0]["families"]["ipv4-unicast"]["export_policy"]),
                         (0, {"keepalive_s": 3, "hold_s": 9}, "accept-all"), err)

    def test_bgpd_accepts_the_same_file(self):
        if not os.path.exists(BGPD):
            self.skipTest("FRR is not installed")
        path = os.path.join(self.dir.name, "bgpd.conf")
        with open(path, "w") as f:
            f.write(EDGE)
        os.chmod(self.dir.name, 0o755)
        p = subprocess.run([BGPD, "-C", "-p", "0", "-f", path, "-S"], capture_output=True, text=True, timeout=300)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertNotIn("Unknown command", p.stdout + p.stderr)

    def test_what_is_not_carried_is_named(self):
        _, want, _ = self.imported(EDGE)
        status, d, err = self.imported(EDGE.replace(" !\n address-family", STRANGE + " !\n address-family"))
        named = [line for line in err.splitlines() if ": not carried: " in line]
        self.assertEqual((status, len(named)), (1, 4), err)
        for line in STRANGE.splitlines():
            self.assertTrue(any(line in n for n in named), line)
        self.assertTrue(err.endswith("keel-import: 4 lines not carried\n"))
        self.assertEqual(d, want)  # and nothing is guessed
        for entry in ("match ip address prefix-list a b", "match source-vrf x", "set as-path prepend 1 2", "set weight 5", "set community internet:1",
                      "set community 64512:70000", "set large-community 1:2", "set metric rtt", "set local-preference +10"):
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
        for line in ("match source-protocol bgp", "match ip address 7", "match community cust exact-match", "match probability 5"):
            status, d, err = self.imported(EDGE.replace(" match as-path short\n", " match as-path short\n %s\n" % line))
            self.assertEqual((status, err.count("node 10 would permit too much, and is left out")), (1, 1), err)
            self.assertEqual([n["seq"] for n in d["route_policies"][0]["nodes"]], [5, 20], line)
            self.assertEqual(d["route_policies"][1:], want["route_policies"][1:])
        status, d, err = self.imported(EDGE.replace(" match ip address prefix-list bogons\n", " match source-protocol bgp\n"))
        self.assertEqual((status, d["route_policies"][0]["nodes"][0]), (1, node(5, "deny", match={})))
        status, d, err = self.imported(EDGE.replace(" set metric 5", " set community" + " 64512:1" * 80))
        self.assertEqual((status, err.count("not carried: ")), (0, 0), err)

    def nodes_of(self, text, name="in"):
        """Exit status, nodes of the policy, standard error; keeld accepts the document."""
        status, d, err = self.imported(text, accepted=True)
        return status, policy(d, name), err

    def test_jumps_and_calls(self):
        """on-match, continue and call; no condition sees a change that bgpd made before."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 route-map in in
bgp community-list standard a seq 5 permit 64512:1
bgp community-list standard b seq 5 permit 64512:2
ip prefix-list p seq 5 permit 10.0.0.0/8
route-map sub permit 10
 match ip address prefix-list p
route-map in permit 10
 match community a
 set metric +10
 FIRST
route-map in permit 20
 match SEEN
 set local-preference 50
route-map in deny 30
 match community b
route-map in permit 40
 CALL
"""
        def of(first, seen="community b", call="call sub"):
            return self.nodes_of(text.replace("FIRST", first).replace("SEEN", seen).replace("CALL", call))
        status, nodes, err = of("on-match next")
        self.assertEqual((status, nodes), (0, [
            node(10, "permit", match={"community_list": "a"}, set={"med": {"add": 10}}, goto=20), node(20, "permit", match={"community_list": "b"}, set={"local_pref": 50}),
            node(30, "deny", match={"community_list": "b"}), node(40, "permit", call="sub"), node(50, "deny")]), err)
        for line, goto in (("continue", 20), ("continue 25", 30), ("on-match goto 40", 40)):
            status, nodes, err = of(line)
            self.assertEqual((status, nodes[0]["goto"]), (0, goto), err)
        # nothing follows: the walk ends with the permit
        self.assertNotIn("goto", of("continue 50")[1][0])
        # the second node sees the metric of the first
        status, nodes, err = of("on-match next", "metric 110")
        self.assertEqual((status, [n["seq"] for n in nodes], nodes[0]["goto"]), (1, [10, 30, 40, 50], 30), err)
        self.assertEqual(err.count("not carried: node 20: the condition sees a change of a node before"), 1)
        # a jump over a deny, without a condition: the node must not permit, nor let the walk go to a node that the jump leaves out
        status, nodes, err = of("match probability 5\n on-match goto 40")
        self.assertEqual((status, nodes[0]), (1, node(10, "deny", match={"community_list": "a"})), err)
        # the last line of an entry counts
        status, nodes, err = of("set community 64512:1 additive\n set community 64512:2\n set large-community 1:2:3\n set large-community 1:2:4 additive")
        self.assertEqual((nodes[0]["set"]["communities"], nodes[0]["set"]["large_communities"]), ({"replace": ["64512:2"]}, {"add": ["1:2:4"]}), err)
        # a change that is not carried: conditions behind it may see it
        status, nodes, err = of("set community 64512:2 additive foo\n on-match next")
        self.assertEqual((status, nodes[1:]), (1, [node(30, "deny", match={}), node(40, "permit", call="sub"), node(50, "deny")]), err)
        status, nodes, err = of("set weight 5")
        self.assertEqual((status, [n["seq"] for n in nodes]), (1, [10, 20, 30, 40]), err)
        status, nodes, err = of("on-match next", call="call none")
        self.assertEqual((status, err.count("changed: there is no policy of this name; it is not called"), nodes[-2]), (0, 1, node(40, "permit")), err)
        status, nodes, err = of("on-match next", call="set metric 7\n call sub")
        self.assertEqual((status, [n["seq"] for n in nodes]), (1, [10, 20, 30, 40, 50]), err)
        self.assertEqual(nodes[-2:], [node(40, "deny"), node(50, "deny")])

    def test_a_lost_call_denies(self):
        """bgpd refuses what the callee denies: such a route must not reach a later permit."""
        status, nodes, err = self.nodes_of("""router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 route-map in in
ip prefix-list ten seq 5 permit 10.0.0.0/8 le 32
bgp as-path access-list a permit _65010_
route-map sub permit 10
 match as-path a
route-map in permit 10
 match ip address prefix-list ten
 call sub
 set local-preference 200
route-map in permit 20
 set local-preference 50
""")
        self.assertEqual((status, nodes[0]), (1, node(10, "deny", match={"prefix_list": "ten"})), err)
        self.assertEqual(err.count("its changes would follow those of the policy that it calls"), 1)

    FAMILIES = """router bgp 64512
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 neighbor 192.0.2.9 remote-as 64512
 address-family ipv4 unicast
  neighbor 192.0.2.9 prefix-list OUT out
  %s
 exit-address-family
 address-family ipv6 unicast
  neighbor 192.0.2.9 activate
  neighbor 192.0.2.9 prefix-list OUT out
  %s
 exit-address-family
ip prefix-list OUT seq 5 deny 10.0.0.0/8 le 32
ip prefix-list OUT seq 10 permit any
ipv6 prefix-list OUT seq 5 permit 2001:db8::/32 le 48
route-map six permit 10
 match tag 6
"""

    def test_lists_of_two_families_under_one_name(self):
        status, d, err = self.imported(self.FAMILIES % ("", ""), accepted=True)
        self.assertEqual((status, err.count("changed: replaces")), (0, 0), err)
        self.assertEqual(sorted((e["prefix"], e["action"]) for e in entries(d, "prefix_lists", "OUT")),
                         [("0.0.0.0/0", "permit"), ("10.0.0.0/8", "deny"), ("2001:db8::/32", "permit")])
        listed = [e["prefix"] for e in entries(d, "prefix_lists", "OUT")]
        self.assertLess(listed.index("10.0.0.0/8"), listed.index("0.0.0.0/0"))

    def test_redistribute_by_family(self):
        def made(four, six):
            status, d, err = self.imported(self.FAMILIES % (four, six), accepted=True)
            self.assertEqual(status, 0, err)
            (entry,) = d["bgp"]["redistribute"]
            self.assertEqual(entry["source"], "static")
            return policy(d, entry["policy"]) if "policy" in entry else None
        four = node(10, "permit", match={"family": "ipv4-unicast"})
        self.assertEqual(made("redistribute static", ""), [four])
        self.assertEqual(made("", "redistribute static"), [node(20, "permit", match={"family": "ipv6-unicast"})])
        self.assertIsNone(made("redistribute static", "redistribute static"))
        self.assertEqual(made("redistribute static", "redistribute static route-map six"), [four, node(20, "permit", match={"family": "ipv6-unicast"}, call="six")])
        self.assertEqual(made("redistribute static", "redistribute static route-map none"), [four])
        status, d, err = self.imported(self.FAMILIES % ("redistribute static route-map one", "redistribute static route-map two"), accepted=True)
        self.assertEqual((status, d["bgp"]["redistribute"]), (0, [{"source": "static", "policy": "deny-all"}]), err)
        status, d, err = self.imported(self.FAMILIES % ("redistribute static", "") + "route-map redistribute-static deny 10\n", accepted=True)
        self.assertEqual((status, d["bgp"]["redistribute"]), (0, [{"source": "static", "policy": "redistribute-static-2"}]), err)

    def test_filters_of_a_neighbour(self):
        """Prefix lists and AS-path lists of a neighbour, beside a route map: all must permit. A filter that is not carried lets no route pass."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 neighbor UP peer-group
 neighbor UP remote-as 64513
 neighbor 192.0.2.2 peer-group UP
 neighbor 192.0.2.3 peer-group UP
 neighbor 192.0.2.4 remote-as 64514
 address-family ipv4 unicast
  neighbor UP prefix-list p in
  neighbor 192.0.2.2 route-map m in
  neighbor 192.0.2.4 filter-list f in
  neighbor 192.0.2.4 prefix-list p out
 LINE
 exit-address-family
ip prefix-list p seq 5 permit 10.0.0.0/8 le 24
bgp as-path access-list f seq 5 permit ^64514_
route-map m permit 10
 set local-preference 200
"""
        status, d, err = self.imported(text.replace("LINE", " neighbor 192.0.2.4 route-map m out"), accepted=True)
        self.assertEqual(status, 0, err)
        prefixes, paths = ({"not": {k: v}} for k, v in (("prefix_list", "p"), ("as_path_list", "f")))
        names = {p["address"]: p["families"]["ipv4-unicast"] for p in d["bgp"]["peers"]}
        group = d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["import_policy"]
        self.assertEqual(policy(d, names["192.0.2.2"]["import_policy"]), [node(10, "deny", match=prefixes), node(20, "permit", call="m")])
        self.assertEqual(policy(d, names["192.0.2.3"].get("import_policy", group)), [node(10, "deny", match=prefixes), node(20, "permit")])
        self.assertEqual(policy(d, names["192.0.2.4"]["import_policy"]), [node(10, "deny", match=paths), node(20, "permit")])
        self.assertEqual(policy(d, names["192.0.2.4"]["export_policy"]), [node(10, "deny", match=prefixes), node(20, "permit", call="m")])
        self.assertFalse([k for k in json.dumps(d).split('"') if k.startswith("_")], d)
        # a list with an entry that is not carried: no route passes the filter
        status, d, err = self.imported(text.replace("LINE", "!") + "ip prefix-list p seq 7 permit 10.0.0.0/40\n", accepted=True)
        f = next(p["families"]["ipv4-unicast"] for p in d["bgp"]["peers"] if p["address"] == "192.0.2.2")
        self.assertEqual((status, policy(d, f["import_policy"])), (1, [node(10, "deny", match={}), node(20, "permit", call="m")]), err)
        for line, key in (("neighbor 192.0.2.4 distribute-list 7 in", "import_policy"), ("neighbor 192.0.2.4 unsuppress-map m", "export_policy"),
                          ("neighbor 192.0.2.4 prefix-list p q out", "export_policy")):
            status, d, err = self.imported(text.replace("LINE", " " + line), accepted=True)
            f = d["bgp"]["peers"][-1]["families"]["ipv4-unicast"]
            self.assertEqual((status, err.count(": not carried: ")), (1, 1), err)
            self.assertIn({"action": "deny"}, [{k: v for k, v in n.items() if k != "seq"} for n in policy(d, f[key])], line)

    def test_lists_with_unknown_entries(self):
        """A permit with such a list is left out, a deny denies more; a list that does not exist matches nothing in bgpd."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 route-map in in
 neighbor 192.0.2.2 route-map none out
LISTS
route-map in deny 10
 match community a
 match as-path b
route-map in permit 20
 match community c
route-map in permit 30
 match large-community d
"""
        good = "bgp community-list standard a permit 64512:1\nbgp community-list standard c permit 64512:3\nbgp large-community-list standard d permit 1:2:3\nbgp as-path access-list b permit _7_"
        status, nodes, err = self.nodes_of(text.replace("LISTS", good))
        self.assertEqual((status, [n["seq"] for n in nodes], nodes[0]["match"]), (0, [10, 20, 30], {"community_list": "a", "as_path_list": "b"}), err)
        self.assertEqual(err.count("none: changed: there is no policy of this name; no route passes"), 1, err)
        for bad in ("standard a permit 64512:1 64512:2", "standard a permit internet", "expanded a permit 64512", "standard a permit 64512:70000"):
            status, nodes, err = self.nodes_of(text.replace("LISTS", good + "\nbgp community-list " + bad))
            self.assertEqual((status, nodes[0]), (1, node(10, "deny", match={"as_path_list": "b"})), err)
            status, nodes, err = self.nodes_of(text.replace("LISTS", good + "\nbgp community-list " + bad.replace(" a ", " c ")))
            self.assertEqual((status, [n["seq"] for n in nodes]), (1, [10, 30]), err)
        status, d, err = self.imported(text.replace("LISTS", good.replace(" b ", " other ")), accepted=True)
        self.assertEqual((status, entries(d, "as_path_lists", "b")), (0, []), err)
        self.assertEqual(err.count("b: changed: there is no list of this name; it matches no route"), 1, err)

    def test_expanded_lists(self):
        """Regular expressions of communities that stand for wildcards; anchored at a community they are only good for `delete`."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 route-map in in
bgp large-community-list expanded a permit REGEX
route-map in permit 10
 match large-community a
route-map in permit 20
 set large-comm-list a delete
 set large-community 64512:9:9 additive
"""
        for regex, pattern, matches in (("_64512:.*", "64512:*:*", True), ("_64512:", "64512:*:*", True), ("_64512:[0-9]+:5_", "64512:*:5", True),
                                        ("_64512:7:[0-9]*_", "64512:7:*", True), ("_64512:7:8_", "64512:7:8", True), ("^64512:.*", "64512:*:*", False),
                                        ("^64512:.*:5$", "64512:*:5", False), ("_64512:.*:5_", "64512:*:5", False), ("_64512:7:8$", "64512:7:8", False)):
            status, d, err = self.imported(text.replace("REGEX", regex), accepted=True)
            self.assertEqual(entries(d, "large_community_lists", "a"), [{"action": "permit", "large_community": pattern}], (regex, err))
            self.assertEqual([n["seq"] for n in policy(d, "in")], [10, 20] if matches else [20], regex)
            self.assertEqual(policy(d, "in")[-1]["set"], {"large_communities": {"remove": [pattern], "add": ["64512:9:9"]}}, regex)
            self.assertEqual(status, 0 if matches else 1, (regex, err))
        for regex in ("64512:.*", "_64512", "_64512:7", "_64512:7:8", "_6451[0-9]:", "_64512:7_", "_.*:1:1_", "_64512:(1|2):.*", "_64512:1:2:3_", "_64512:1:2|_7:"):
            status, d, err = self.imported(text.replace("REGEX", regex), accepted=True)
            self.assertEqual(status, 1, (regex, err))
            self.assertEqual(policy(d, "in"), [node(20, "permit", set={"large_communities": {"add": ["64512:9:9"]}})], (regex, err))

    def test_sequence_numbers(self):
        """Entries without a number follow the last one; a number that exists replaces its entry, and a route map that is named again goes on."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
ip prefix-list p seq 20 permit 10.2.0.0/16
ip prefix-list p permit 10.3.0.0/16
ip prefix-list p seq 7 deny 10.1.0.0/16
ip prefix-list p seq 20 deny 10.4.0.0/16
ipv6 prefix-list p permit any
route-map in permit 10
 match ip address prefix-list p
exit
route-map in permit 10
 set metric 7
"""
        status, d, err = self.imported(text, accepted=True)
        self.assertEqual((status, entries(d, "prefix_lists", "p")), (0, [
            {"action": "deny", "prefix": "10.1.0.0/16"}, {"action": "deny", "prefix": "10.4.0.0/16"}, {"action": "permit", "prefix": "10.3.0.0/16"},
            {"action": "permit", "prefix": "::/0", "le": 128}]), err)
        # `match ip address` matches no IPv6 route
        self.assertEqual(policy(d, "in"), [node(10, "permit", match={"prefix_list": "p", "family": "ipv4-unicast"}, set={"med": 7})])

    def test_names_that_become_equal(self):
        """Route maps whose names keel.json cannot have stay different; prefixes lose their host bits; a further router is left out."""
        text = """router bgp 64512
 bgp router-id 192.0.2.1
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 shutdown message for maintenance
 neighbor 192.0.2.2 route-map a/b in
 neighbor 192.0.2.2 route-map a_b out
 network 198.51.100.7/24
router bgp 64599
 neighbor 192.0.2.3 remote-as 64513
ip prefix-list p permit 10.1.2.3/16
route-map a/b permit 10
 match ip address prefix-list p
route-map a_b deny 10
"""
        status, d, err = self.imported(text, accepted=True)
        self.assertEqual((status, err.count(": not carried: a further router")), (1, 1), err)
        f = d["bgp"]["peers"][0]["families"]["ipv4-unicast"]
        self.assertEqual((policy(d, f["import_policy"])[0]["action"], policy(d, f["export_policy"])[0]["action"]), ("permit", "deny"))
        self.assertEqual((d["bgp"]["networks"][0]["prefix"], entries(d, "prefix_lists", "p")[0]["prefix"]), ("198.51.100.0/24", "10.1.0.0/16"))
        self.assertEqual([(p["address"], p["shutdown"]) for p in d["bgp"]["peers"]], [("192.0.2.2", True)])

    def test_limits_ranges_and_external(self):
        text = EDGE.replace("maximum-prefix 1000 warning-only", "maximum-prefix 1000 75 restart 5").replace(" !\n address-family", """ bgp listen range 192.0.2.64/27 peer-group transit
 neighbor transit remote-as 64519
 neighbor internal peer-group
 neighbor internal remote-as internal
 neighbor 192.0.2.10 peer-group internal
 neighbor 192.0.2.11 remote-as external
 neighbor 192.0.2.12 remote-as 64513
 neighbor 192.0.2.12 peer-group none
 no neighbor 192.0.2.9 send-community
 !
 address-family""", 1)
        status, d, err = self.imported(text, accepted=True)
        self.assertEqual((status, err.count(": not carried: ")), (1, 3), err)
        self.assertIn('192.0.2.12: not carried: there is no group "none"; the neighbour is left out', err)
        self.assertEqual(d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["max_prefixes"], {"limit": 1000, "threshold_percent": 75, "restart_s": 300, "action": "shutdown"})
        self.assertEqual(d["bgp"]["listen_ranges"], [{"prefix": "192.0.2.64/27", "group": "transit"}])
        self.assertEqual([p.get("group") for p in d["bgp"]["peers"]], ["transit", "transit", None, "n-internal"])
        self.assertIs(d["bgp"]["peers"][2]["families"]["ipv4-unicast"]["send_communities"], False)

    def test_validation_and_timers(self):
        text = EDGE.replace(" match as-path short\n", " match rpki valid\n").replace(" no bgp default", " timers bgp 5 15\n no bgp default") + \
            "rpki\n rpki cache 192.0.2.50 3323 preference 1\n rpki polling_period 60\nexit\n"
        status, d, err = self.imported(text, accepted=True)
        self.assertEqual((status, d["rpki"]), (0, {"caches": [{"address": "192.0.2.50", "port": 3323, "preference": 1}]}), err)
        self.assertEqual(d["route_policies"][0]["nodes"][1]["match"], {"validation": "valid", "community_list": "cust"})
        self.assertEqual([p.get("timers") for p in d["bgp"]["peers"]], [None, None, {"keepalive_s": 5, "hold_s": 15}])
        status, d, err = self.imported(text.replace("route-map out out", "route-map in out"), accepted=True)
        self.assertEqual((status, err.count("not carried: validation in an export policy"), d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["export_policy"]),
                         (1, 1, "deny-all"), err)

    def test_defaults_of_bgpd(self):
        """Without `no bgp default ipv4-unicast` each neighbor has IPv4 unicast; without ebgp-requires-policy all routes pass."""
        text = "router bgp 64512\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n neighbor 192.0.2.2 remote-as 64513\n"
        status, d, _ = self.imported(text)
        self.assertEqual(status, 0)
        self.assertEqual(d["bgp"]["peers"][0]["families"], {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}})
        status, d, _ = self.imported(text.replace(" no bgp ebgp-requires-policy\n", " no bgp default ipv4-unicast\n"))
        self.assertEqual(d["bgp"]["peers"][0]["families"], {})


# ---- BIRD ----

SERVER = """log syslog all;
router id 192.0.2.1;
define MYAS = 64512;
define BOGONS = [ 10.0.0.0/8+, 192.168.0.0/16{16,32}, 172.16.0.0/14- ];
define BOGON_ASNS = [ 0, 23456, 64496..64511, 65000 ];
roa4 table r4;
protocol device { scan time 10; }
protocol direct { ipv4; }
protocol static mine {
  ipv4;
  route 198.51.100.0/24 blackhole; # ours
  route 203.0.113.0/24 via 192.0.2.254;
}
/* validated
   by one cache */
protocol rpki cache1 { roa4 { table r4; }; remote 127.0.0.1 port 3323; }
function is_bogon() {
  if net ~ BOGONS then return true;
  return bgp_path ~ BOGON_ASNS || net.len > 24;
}
function mark(int place) {
  bgp_large_community.add((MYAS, 1, place));
}
filter from_up {
  if is_bogon() then reject;
  if roa_check(r4, net, bgp_path.last) = ROA_INVALID then reject;
  if bgp_path.first != 64513 then reject;
  if bgp_path.len > 64 then reject;
  if (64513, 666) ~ bgp_community then { bgp_local_pref = 50; mark(6); accept; }
  bgp_local_pref = 120;
  bgp_community.add((64512, 7));
  mark(5);
  accept;
}
filter to_up {
  if source = RTS_STATIC then { bgp_path.prepend(MYAS); bgp_path.prepend(MYAS); accept; }
  if net ~ [ 198.51.100.0/24, 203.0.113.0/24+ ] then accept; else reject;
}
template bgp up {
  local as MYAS;
  hold time 30;
  ipv4 { import filter from_up; export filter to_up; import limit 1000 action block; };
}
protocol bgp u1 from up { neighbor 192.0.2.2 as 64513; password "secret"; multihop 2; }
protocol bgp i1 { local 192.0.2.1 as MYAS; neighbor 192.0.2.9 as MYAS; rr client;
  ipv4 { import all; export where source ~ [ RTS_BGP, RTS_STATIC ]; }; ipv6; }
"""


def policy(d, name):
    return next(p["nodes"] for p in d["route_policies"] if p["name"] == name)


def entries(d, section, name):
    return next(e["entries"] for e in d[section] if e["name"] == name)


class Bird(Case):
    DIALECT = "bird"
    ROUTER = "router id 192.0.2.1;\n"
    LOCAL = "protocol bgp { local as 64512; neighbor 192.0.2.9 as 64599; }\n"

    def test_a_file_that_ends_in_a_statement(self):
        """With 1,024 tokens there is no room behind the last one."""
        for end in ("export where", "export filter", "export", "import limit", "import"):
            text = "template bgp t { ipv4 { " + end
            rest = 1024 - len(text.split())
            text = "router id 192.0.2.1;\n" * (rest // 4) + ";" * (rest % 4) + "\n" + text
            status, _, err = self.imported(text, accepted=False)
            self.assertEqual((status, "Sanitizer" in err), (1, False), err)

    def test_bird_accepts_the_same_file(self):
        if not shutil.which("bird"):
            self.skipTest("BIRD is not installed")
        path = os.path.join(self.dir.name, "bird.conf")
        with open(path, "w") as f:
            f.write(SERVER)
        p = subprocess.run(["bird", "-p", "-c", path], capture_output=True, text=True, timeout=300)
        more = re.sub("(?m)^.*(Inferring function is_bogon return type|Missing authentication option, assuming MD5).*\n", "", p.stderr)  # BIRD 2.17
        self.assertEqual((p.returncode, more), (0, ""))

    def test_values_that_keeld_refuses(self):
        d = self.refused("define 'a b' = [ 10.0.0.0/8+ ];\nfilter f { if net ~ 'a b' then accept; reject; }\ntemplate bgp t { local as 64512; ipv4 { import filter f; }; }\n"
                         "template bgp t { local as 64513; }\nprotocol bgp from t { neighbor 192.0.2.2 as 64513; }\n", '5: template bgp t { local as 64513; }: not carried: the name "t" occurs before',
                         head=self.ROUTER)
        self.assertEqual(([x["name"] for x in d["prefix_lists"]], len(d["bgp"]["groups"])), (["a_b"], 1))
        for condition in ("(70000, 1) ~ bgp_community", "net ~ [ 10.0.0.0/8{24,16} ]", "bgp_community ~ [ (1, 5..3) ]", "(rt, 70000, 70000) ~ bgp_ext_community"):
            d = self.refused("filter f {\nif %s then accept;\naccept; }\n" % condition, "then accept;: not carried: ", head=self.ROUTER + self.LOCAL)
            self.assertEqual([n["action"] for n in policy(d, "f")], ["deny"], condition)
        for change in ("bgp_path.prepend(23456);", "bgp_next_hop = 0.0.0.0;"):
            d = self.refused("filter f {\n%s\naccept; }\n" % change, change + ": not carried: ", head=self.ROUTER + self.LOCAL)
        d = self.refused("protocol static { ipv4;\nroute 203.0.113.1/24 blackhole;\nroute 203.0.112.0/24 via 0.0.0.0;\nroute 203.0.111.0/24 via 192.0.2.7; }\n"
                         "protocol rpki { roa4; remote 192.0.2.20; }\nprotocol rpki { roa6; remote 192.0.2.20; }\n", "203.0.113.1/24 blackhole;: not carried: ",
                         "0.0.0.0;: not carried: the next hop is no address of a host", "8: protocol rpki { roa6; remote 192.0.2.20; }: not carried: the cache occurs before",
                         head=self.ROUTER + self.LOCAL)
        self.assertEqual([x["prefix"] for x in d["static_routes"]], ["203.0.111.0/24"])

    def test_neighbours_that_keeld_refuses(self):
        d = self.refused("protocol bgp a { local 2001:db8::1 as 64512; neighbor 192.0.2.2 internal;\nlocal role peer; rs client;\nhold time 2; }\n"
                         "protocol bgp b { local as 64512; neighbor 192.0.2.3 as 64513; rr client; keepalive time 300;\npassword \"***\";\nrr cluster id 0.0.0.0; }\n"
                         "protocol bgp c { local as 23456; neighbor 192.0.2.4 as 64513; }\nprotocol bgp d { local as 64512; neighbor fe80::1 as 64513; }\n"
                         "protocol bgp e { local as 64512;\nneighbor range 192.0.2.1/24 as 64513; }\n", "hold time 2; }: not carried: ", "192.0.2.2: not carried: source is of another family",
                         "192.0.2.2: not carried: role of an internal neighbour", "192.0.2.2: not carried: route_server_client of an internal neighbour",
                         "192.0.2.3: not carried: route_reflector_client of an external neighbour", "192.0.2.3: changed: the keepalive time is a third of the hold time",
                         'password: not carried: "***" stands for a hidden password', "rr cluster id 0.0.0.0; }: not carried: ", "fe80::1: not carried: no address of a host",
                         "neighbor range 192.0.2.1/24 as 64513; }: not carried: ", head=self.ROUTER)
        self.assertEqual([p["address"] for p in d["bgp"]["peers"]], ["192.0.2.2", "192.0.2.3"])

    def test_values_that_keeld_takes_in_another_form(self):
        """A link-local source is on the link of the neighbour; keeld needs a keepalive time below the hold time, also for a range."""
        d = self.refused("protocol bgp a { local fe80::1 as 64512; neighbor fe80::2%e0 as 64513; }\n"
                         "protocol bgp b { local as 64512; neighbor range 192.0.2.0/24 as 64513; hold time 30; keepalive time 30; }\n",
                         "a { local fe80::1 as 64512; neighbor fe80::2%e0 as 64513; }: done", "b: changed: the keepalive time is a third of the hold time", head=self.ROUTER)
        self.assertEqual((d["bgp"]["peers"][0]["source"], d["bgp"]["listen_ranges"][0]["group"], d["bgp"]["groups"][0]["timers"]), ("fe80::1%e0", "b", {"hold_s": 30, "keepalive_s": 10}))

    def test_protocols_filters_and_templates(self):
        status, d, err = self.imported(SERVER)
        self.assertEqual((status, [line for line in err.splitlines() if not line.endswith(": done")]), (0, []))
        self.assertNotIn("secret", err)
        self.assertEqual(d["router"], {"asn": 64512, "router_id": "192.0.2.1"})
        self.assertEqual(d["rpki"], {"caches": [{"address": "127.0.0.1", "port": 3323}]})
        self.assertEqual(d["static_routes"], [{"prefix": "198.51.100.0/24", "blackhole": True}, {"prefix": "203.0.113.0/24", "next_hop": "192.0.2.254"}])
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "connected", "policy": "redistribute-connected"}, {"source": "static", "policy": "static-gateways"}])
        self.assertEqual(policy(d, "redistribute-connected"), [node(10, "permit", match={"family": "ipv4-unicast"}, call="bird-origin")])
        self.assertEqual(policy(d, "static-gateways"), [
            node(10, "permit", match={"prefix_list": "static-gateway"}, call="bird-origin", set={"next_hop": "192.0.2.254"}), node(20, "permit", call="bird-origin")])
        self.assertEqual(entries(d, "prefix_lists", "static-gateway"), [{"action": "permit", "prefix": "203.0.113.0/24"}])
        _, _, err = self.imported(SERVER.replace("protocol direct { ipv4; }\n", ""))
        self.assertEqual(err.count("changed: next hops on connected subnets can be reached"), 1)
        self.assertEqual(policy(d, "bird-origin"), [node(10, "permit", set={"origin": "igp"})])
        self.assertEqual(entries(d, "prefix_lists", "BOGONS"), [
            dict(e, action="permit") for e in [{"prefix": "10.0.0.0/8", "ge": 8, "le": 32}, {"prefix": "192.168.0.0/16", "ge": 16, "le": 32}] +
            [{"prefix": str(ipaddress.ip_network("172.16.0.0/%d" % n, strict=False))} for n in range(15)]])
        self.assertEqual([e["regex"] for e in entries(d, "as_path_lists", "BOGON_ASNS-any")],
                         ["_0_", "_23456_", "_6449[6-9]_", "_6450[0-9]_", "_6451[0-1]_", "_65000_"])
        self.assertEqual(policy(d, "to_up"), [
            node(10, "permit", match={"source": "static"}, set={"as_path_prepend": {"asn": 64512, "count": 2}}),
            node(20, "permit", match={"prefix_list": "to_up-1"})])
        nodes = policy(d, "from_up")
        self.assertIn({"family": "ipv4-unicast", "validation": "invalid"}, [n.get("match") for n in nodes if n["action"] == "deny"])
        self.assertIn({"local_pref": 50, "large_communities": {"add": ["64512:1:6"]}}, [n.get("set") for n in nodes])
        self.assertEqual(nodes[-1].get("set"), {"local_pref": 120, "communities": {"add": ["64512:7"]}, "large_communities": {"add": ["64512:1:5"]}})
        self.assertEqual(d["bgp"]["groups"], [{
            "name": "up", "timers": {"hold_s": 30}, "families": {"ipv4-unicast": {
                "import_policy": "from_up", "export_policy": "to_up", "max_prefixes": {"limit": 1000, "action": "discard"}}}}])
        self.assertEqual(d["bgp"]["peers"], [
            {"address": "192.0.2.2", "asn": 64513, "group": "up", "description": "u1", "password": "secret", "multihop": 2, "enforce_first_as": False},
            {"address": "192.0.2.9", "asn": 64512, "description": "i1", "source": "192.0.2.1", "route_reflector_client": True, "families": {
                "ipv4-unicast": {"import_policy": "accept-all", "export_policy": "i1-ipv4-out"},
                "ipv6-unicast": {"import_policy": "accept-all", "export_policy": "deny-all"}}}])
        self.assertEqual(policy(d, "i1-ipv4-out"), [node(10, "permit", match={"source": ["external", "internal", "static"]})])

    def test_a_statement_that_is_not_carried_rejects(self):
        """The filter rejects where the statement stands; the other statements stay."""
        for line in ("bgp_community.delete([(64512, *)]); if (64512, 7) ~ bgp_community then accept;", "bgp_community.add((64512, *));", "if bgp_med > 5 then accept;", "preference = 200;", "unset(bgp_med);",
                     "if bgp_local_pref = 50 && defined(bgp_med) then accept;", "if ifname = \"eth0\" then accept;", "gw = 192.0.2.1;",
                     "if bgp_path ~ [= 64512..64513 * =] then accept;", "bgp_path.delete(64512);", "if bgp_ext_community ~ [(64512, 1)] then accept;",
                     "bgp_local_pref = bgp_local_pref + 10;", "if net.len > 20 then bgp_community.add((64512, 2)); if (64512, 2) ~ bgp_community then accept;", "case bgp_med { 1: accept; else: reject; }", "return true;", "nonsense 1 2 { };"):
            status, d, err = self.imported(SERVER.replace("  bgp_local_pref = 120;", "  " + line))
            self.assertEqual(status, 1, line)
            self.assertEqual(err.count("; the policy rejects here"), 1, (line, err))
            self.assertEqual(policy(d, "from_up")[-1], node(policy(d, "from_up")[-1]["seq"], "deny"), line)
            _, want, _ = self.imported(SERVER)
            self.assertEqual(policy(d, "to_up"), policy(want, "to_up"))

    def test_and_and_or_from_left_to_right(self):
        """BIRD 2 gives both one precedence."""
        def made(condition):
            status, d, err = self.imported("""router id 192.0.2.1;
protocol direct { ipv4; }
filter f { if %s then accept; reject; }
protocol bgp i1 { local as 64512; neighbor 192.0.2.9 as 64512; ipv4 { import all; export filter f; }; }
""" % condition)
            self.assertEqual((status, err.count(": done")), (0, 4), err)
            return policy(d, "f")
        self.assertEqual(made("net.len = 8 || net.len = 16 && net.len = 24"), made("(net.len = 8 || net.len = 16) && net.len = 24"))
        self.assertNotEqual(made("net.len = 8 || net.len = 16 && net.len = 24"), made("net.len = 8 || (net.len = 16 && net.len = 24)"))

    def test_includes(self):
        """A file that cannot be read is named; an include inside a comment is none; a byte order mark is no text."""
        def beside(name, text, mode=0o644):
            path = os.path.join(self.dir.name, name)
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, mode)
        beside("old.conf", "protocol bgp old { local as 64512; neighbor 192.0.2.66 as 64999; ipv4 { import all; export all; }; }\n/* end\n")
        os.mkdir(os.path.join(self.dir.name, "folder.conf"))
        main = "router id 192.0.2.1;\nprotocol direct { ipv4; }\nprotocol bgp i1 { local as 64512; neighbor 192.0.2.9 as 64512; ipv4 { import all; export none; }; }\n"
        status, d, err = self.imported("\ufeff" + main + "/* no longer:\ninclude \"old.conf\";\n*/\n")
        self.assertEqual((status, [p["address"] for p in d["bgp"]["peers"]], d["router"]["router_id"]), (0, ["192.0.2.9"], "192.0.2.1"), err)
        for name, why in (("folder.conf", "is not a regular file"), ("/dev/zero", "is not a regular file")):
            status, d, err = self.imported(main + 'include "%s";\n' % name)
            self.assertEqual(status, 1, err)
            self.assertRegex(err, r'(?m)^4: .*: not carried: \S*%s: %s$' % (name, why))

    def test_reflected_routes(self):
        """`next hop self` and the cluster id of a route reflector."""
        reflector = """router id 192.0.2.1;
protocol direct { ipv4; }
protocol bgp c { local as 64512; neighbor 192.0.2.8 as 64512; rr client; rr cluster id 9.9.9.9; ipv4 { import all; export all; }; }
protocol bgp r { local as 64512; neighbor 192.0.2.9 as 64512; %s ipv4 { import all; export all; next hop self%s; }; }
"""
        for cluster, which, said in (("", "", ["reflected routes keep their next hop"]), ("", " ebgp", ["the cluster id of all sessions is 9.9.9.9"]),
                                     ("rr cluster id 9.9.9.9;", " ebgp", [])):
            status, d, err = self.imported(reflector % (cluster, which))
            self.assertEqual((status, [line.split(": changed: ")[1] for line in err.splitlines() if ": changed: " in line]), (0, said), err)
            self.assertTrue(d["bgp"]["peers"][1]["families"]["ipv4-unicast"]["next_hop_self"])
        status, _, err = self.imported((reflector % ("", "")).replace("rr client; rr cluster id 9.9.9.9;", ""))
        self.assertEqual((status, err.count("changed")), (0, 0), err)

    def test_many_communities_at_once(self):
        """Wildcards, and ranges of more communities than a list should hold."""
        for line, pattern in (("if bgp_community ~ [(64512, *)] then accept;", "64512:*"),
                                    ("if bgp_large_community ~ [(64512, 1, *)] then accept;", "64512:1:*"),
                                    ("bgp_community.delete([(0..65000, 5)]);", "0-65000:5"),
                                    ("bgp_large_community.delete([(64512, *, *)]); if (64512, 7) ~ bgp_community then accept;", "64512:*:*")):
            status, d, err = self.imported(SERVER.replace("  bgp_local_pref = 120;", "  " + line))
            self.assertEqual((status, err.count(": not carried: ")), (0, 0), (line, err))
            self.assertIn('"%s"' % pattern, json.dumps(d), line)
        status, d, err = self.imported(SERVER.replace("  bgp_local_pref = 120;", "  bgp_path.prepend(bgp_path.first); bgp_path.prepend(bgp_path.first);"))
        self.assertIn({"asn": "first", "count": 2}, [n.get("set", {}).get("as_path_prepend") for n in policy(d, "from_up")])

    def test_control_flow(self):
        """if, else, case, functions and conditions, against an evaluation of the nodes."""
        text = """router id 192.0.2.1;
function both(int a; int b) { if bgp_path ~ [= * a * =] then return false; return bgp_path.len = b || bgp_path.len = 5; }
filter f {
  if !(bgp_path.len > 3) && (bgp_origin = ORIGIN_IGP || bgp_origin = ORIGIN_EGP) then {
    if bgp_origin = ORIGIN_EGP then bgp_community.add((1, 1)); else bgp_community.add((1, 2));
  } else {
    if bgp_path.len = 7 then reject;
    bgp_community.add((1, 3));
  }
  case bgp_path.len { 1: bgp_med = 1; 2..3: bgp_med = 2; 4, 5: { bgp_med = 3; } else: bgp_med = 4; }
  if both(64999, 4) then { bgp_local_pref = 9; accept; }
  bgp_local_pref = 8;
  if bgp_path.len < 2 then accept;
  if bgp_path.len = 6 then reject; else accept;
}
protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; export none; }; }
"""
        status, d, err = self.imported(text)
        self.assertEqual(status, 0, err)
        nodes = policy(d, "f")
        for length in range(9):
            for origin in ("igp", "egp", "incomplete"):
                short = length <= 3 and origin != "incomplete"
                want = None
                if short or length not in (7,):
                    want = {"communities": ["1:1"] if short and origin == "egp" else ["1:2"] if short else ["1:3"],
                            "med": 1 if length == 1 else 2 if length in (2, 3) else 3 if length in (4, 5) else 4, "local_pref": 9 if length in (4, 5) else 8}
                    if length == 6:
                        want = None
                self.assertEqual(self.walk(nodes, length, origin), want, (length, origin, nodes))

    @staticmethod
    def walk(nodes, length, origin):
        """The result of a policy for a path without the AS number of the lists."""
        out, at, permitted = {}, 0, False
        while at < len(nodes):
            n = nodes[at]
            m = n.get("match", {})
            holds = origin in ([m["origin"]] if isinstance(m.get("origin"), str) else m.get("origin", [origin])) and "as_path_list" not in m
            for r in [m["as_path_length"]] if isinstance(m.get("as_path_length"), dict) else m.get("as_path_length", [None]):
                if r is None or r["ge"] <= length <= r["le"]:
                    break
            else:
                holds = False
            if not holds:
                at += 1
                continue
            if n["action"] == "deny":
                return None
            for key, value in n.get("set", {}).items():
                if key == "communities":
                    out.setdefault(key, []).extend(value["add"])
                else:
                    out[key] = value
            permitted = True
            if "goto" not in n:
                return out
            at = next(i for i, other in enumerate(nodes) if other["seq"] == n["goto"])
        return out if permitted else None

    def test_variables(self):
        """Variables before the body and in it, as arouteserver writes them; a value that depends on the way is none."""
        text = """router id 192.0.2.1;
function is_bogon()
prefix set bogons;
int set asns;
{
  bogons = [ 10.0.0.0/8+, 192.168.0.0/16{16,24} ];
  asns = [ 23456, 64496..64511 ];
  if net ~ bogons then return true;
  return bgp_path ~ asns;
}
filter f
int most;
{
  most = 24;
  if is_bogon() then reject "bogon ", net, " - REJECTING";
  if net.len > most then reject;
  LINE
  reject;
}
protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; export none; }; }
"""
        status, d, err = self.imported(text.replace("LINE", "most = 7; bgp_local_pref = 80; accept;"))
        self.assertEqual(status, 0, err)
        self.assertEqual([e["prefix"] for e in entries(d, "prefix_lists", policy(d, "f")[0]["match"]["prefix_list"])], ["10.0.0.0/8", "192.168.0.0/16"])
        self.assertEqual(policy(d, "f")[-1]["set"], {"local_pref": 80})
        lengths = [e for x in d["prefix_lists"] for e in x["entries"] if e["prefix"] == "0.0.0.0/0"]
        self.assertEqual(lengths, [{"action": "permit", "prefix": "0.0.0.0/0", "ge": 25, "le": 32}])
        for line in ("if net.len = 8 then most = 8; if net.len > most then accept;", "if net.len = 8 then { most = 8; } if net.len > most then accept;",
                     "most = most + 1; accept;", "int other; if net.len > other then accept;", "other = 5; accept;"):
            status, d, err = self.imported(text.replace("LINE", line))
            self.assertEqual((status, err.count("; the policy rejects here")), (1, 1), (line, err))
            self.assertNotIn("permit", [n["action"] for n in policy(d, "f") if "goto" not in n], line)

    def test_changed_communities(self):
        """A condition on communities that the filter cannot have changed before is carried, also behind a change with wildcards."""
        for change, condition, good in (("bgp_community.delete([(64512, *)])", "(65535, 0) ~ bgp_community", True),
                                        ("bgp_community.delete([(64512, *)])", "bgp_community ~ [(64000..64511, *)]", True),
                                        ("bgp_community.delete([(64512, *)])", "bgp_community ~ [(64000..64512, 7)]", False),
                                        ("bgp_large_community.delete([(64512, 0..10, *)])", "bgp_large_community ~ [(64512, 11, *)]", True),
                                        ("bgp_large_community.delete([(64512, 0..10, *)])", "bgp_large_community ~ [(*, 10, 5)]", False),
                                        ("bgp_ext_community.delete([(rt, 64512, *)])", "bgp_ext_community ~ [(ro, 64512, *)]", True),
                                        ("bgp_ext_community.delete([(rt, 64512, *)])", "bgp_ext_community ~ [(rt, 64512, 5)]", False)):
            status, d, err = self.imported(SERVER.replace("  bgp_local_pref = 120;", "  %s; if %s then reject; bgp_local_pref = 120;" % (change, condition)))
            self.assertEqual(status, 0 if good else 1, (change, condition, err))
            if not good:
                self.assertEqual(err.count("the condition sees an attribute that the filter has changed before"), 1, (condition, err))

    def filtered(self, body, more="", status=1, where=False):
        """The nodes of a filter, the lines that are not carried, and the document."""
        text = ("router id 192.0.2.1;\nroa4 table r4;\nprotocol rpki c { roa4 { table r4; }; remote 127.0.0.1 port 3323; }\ndefine BOGONS = [ 10.0.0.0/8+ ];\n%s\nfilter f\n%s\n"
                "protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; export none; }; }\n") % (more, body)
        got, d, err = self.imported(text)
        self.assertEqual(got, status, (body, err))
        return policy(d, "f"), [line for line in err.splitlines() if ": not carried: " in line], d

    def test_what_the_filter_changed_before(self):
        """A condition behind a change is not carried, whichever way the change took: nothing is accepted that BIRD rejects."""
        behind = "the condition sees an attribute that the filter has changed before"
        for body, more, why in (
                # changes of a function: before `return`, and by a condition that does not hold
                ("{ flag(); if (64512,666) ~ bgp_community then reject; accept; }",
                 "function flag(){ if net ~ BOGONS then { bgp_community.add((64512,666)); return true; } return false; }", behind),
                ("{ if tag() then reject; if bgp_local_pref = 50 then reject; accept; }", "function tag(){ bgp_local_pref = 50; return net.len > 24; }", behind),
                ("{ if set50() && bgp_local_pref = 50 then reject; accept; }", "function set50(){ bgp_local_pref = 50; return true; }", "a function of the condition changes"),
                ("{ if !set50() || bgp_local_pref = 50 then reject; accept; }", "function set50(){ bgp_local_pref = 50; return true; }", "a function of the condition changes"),
                # a branch of `case`
                ("{ case source { RTS_BGP: bgp_local_pref = 50; RTS_OSPF: reject; } if bgp_local_pref = 50 then reject; accept; }", "", "are not in keeld"),
                ("{ case source { RTS_BGP: bgp_local_pref = 50; else: bgp_med = 1; } if bgp_local_pref = 50 then reject; accept; }", "", behind),
                ("{ case bgp_origin { else: accept; ORIGIN_INCOMPLETE: reject; } }", "", "a branch behind else"),
                # values that a function computes, and a value that is read before a change
                ("bool ok; { ok = chk(); accept; }", "function chk(){ if net ~ BOGONS then reject; return true; }", "a value that a function computes"),
                ("{ bool ok = chk(); accept; }", "function chk(){ if net ~ BOGONS then reject; return true; }", "a value that a function computes"),
                ("{ print chk(); accept; }", "function chk(){ if net ~ BOGONS then reject; return true; }", "a value that a function computes"),
                ("{ if both(chk()) then accept; }", "function chk(){ if net ~ BOGONS then reject; return true; } function both(bool x){ return true; }", "a value that a function computes"),
                ("int x; { x = bgp_path.first; bgp_path.prepend(64512); bgp_path.prepend(x); accept; }", "", "may be one that the filter put there"),
                # `for`, whose block ends the statement
                ("{ for int i in bgp_path do { bgp_med = i; } accept; }", "", "policies have no such statement")):
            nodes, lost, _ = self.filtered(body, more)
            self.assertTrue(lost and all(why in line for line in lost[:1]), (body, lost))
            self.assertNotIn("permit", [n["action"] for n in nodes if "goto" not in n and n["seq"] == nodes[-1]["seq"]], (body, nodes))
        nodes, _, _ = self.filtered("{ bgp_path.prepend(bgp_path.first); if net ~ BOGONS then bgp_path.prepend(bgp_path.first); accept; }", status=0)
        self.assertEqual(sum(n.get("set", {}).get("as_path_prepend", {}).get("count", 0) for n in nodes), 2, nodes)

    def test_a_skipped_statement_ends_at_its_end(self):
        """`else` behind a statement that is not carried belongs to the `if` around it, or to `case`."""
        for body in ("{ case roa_check(r4,net,bgp_path.last) { ROA_VALID: preference = 110; else: reject; } accept; }",
                     "{ if source = RTS_BGP then preference = 200; else reject; accept; }",
                     "{ if source = RTS_BGP then { if net ~ BOGONS then preference = 1; else preference = 2; } else reject; accept; }",
                     "{ if source = RTS_BGP then if ifname = \"x\" then if net ~ BOGONS then accept; else accept; else reject; else reject; accept; }"):
            nodes, lost, _ = self.filtered(body)
            self.assertNotIn("permit", [n["action"] for n in nodes if "goto" not in n], (body, nodes, lost))

    def test_a_change_before_a_branch_that_is_known(self):
        """`case` of an argument: the change before the call stays."""
        nodes, _, _ = self.filtered("{ bgp_community.add((65535,65281)); prep(1); accept; }",
                                    "function prep(int n){ case n { 1: bgp_path.prepend(64512); else: bgp_med = 1; } }", 0)
        self.assertEqual([n["set"] for n in nodes if n.get("set", {}).get("communities")][0]["communities"], {"add": ["65535:65281"]}, nodes)
        self.assertEqual([n["set"]["as_path_prepend"] for n in nodes if "as_path_prepend" in n.get("set", {})], [{"asn": 64512, "count": 1}])

    def test_validation_without_a_cache(self):
        """Without VRPs no route is invalid: a check of a table whose cache is not carried rejects."""
        text = ("router id 192.0.2.1;\nroa4 table r4;\ndefine CACHE = 127.0.0.1;\nprotocol rpki c { roa4 { table r4; }; remote %s port 3323; }\n"
                "filter f { if roa_check(r4, net, bgp_path.last) = ROA_INVALID then reject; accept; }\n"
                "protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; export none; }; }\n")
        for remote, good in (("127.0.0.1", True), ('"127.0.0.1"', True), ("CACHE", True), ('"rtr.example.net"', False)):
            status, d, err = self.imported(text % remote)
            self.assertEqual((status, [n["action"] for n in policy(d, "f")]), (0, ["deny", "permit"]) if good else (1, ["deny"]), (remote, err))
        status, d, err = self.imported((text % "127.0.0.1").replace("roa4 { table r4; }; ", ""))
        self.assertEqual([n["action"] for n in policy(d, "f")], ["deny"], err)

    def test_the_number_0_of_a_path(self):
        """The first and the last number of a path that begins or ends with an AS set are 0."""
        for part, want in (("last", ["^$", "\\}$"]), ("first", ["^$", "^\\{"])):
            _, _, d = self.filtered("{ if bgp_path.%s ~ [0, 64512..64513] then reject; accept; }" % part, status=0)
            self.assertEqual([e["regex"] for e in d["as_path_lists"][0]["entries"]][:2], want)

    def test_sets_of_addresses_and_of_prefixes(self):
        """A next hop in a set of prefixes, and a prefix in a set of addresses, are errors that reject in BIRD."""
        for condition, good in (("bgp_next_hop ~ [192.0.2.1, 192.0.2.2]", True), ("bgp_next_hop ~ [10.0.0.0/8+]", False), ("net ~ [192.0.2.1]", False), ("net ~ [192.0.2.1/32]", True)):
            nodes, _, _ = self.filtered("{ if %s then accept; reject; }" % condition, status=int(not good))
            self.assertEqual("permit" in [n["action"] for n in nodes], good, (condition, nodes))

    def test_protocols_that_pass_no_route(self):
        """Channels of other tables, sessions of VRFs, disabled and filtered protocols: none of their routes reaches a neighbour."""
        text = """router id 192.0.2.1;
ipv4 table other;
template bgp up { local as 64512; ipv4 { TABLE }; }
protocol bgp a from up { neighbor 192.0.2.2 as 64513; ipv4 { import all; export all; }; }
protocol static {
  STATIC
  route 198.51.100.0/24 blackhole;
}
protocol direct { DIRECT ipv4; }
"""
        def of(table="", static="ipv4;", direct=""):
            return self.imported(text.replace("TABLE", table).replace("STATIC", static).replace("DIRECT", direct))
        status, d, err = of()
        self.assertEqual((status, err.count("not carried"), len(d["static_routes"]), len(d["bgp"]["redistribute"])), (1, 2, 1, 2), err)
        status, d, err = of("table other;")
        self.assertEqual({k: d["bgp"]["peers"][0]["families"]["ipv4-unicast"][k] for k in ("import_policy", "export_policy")},
                         {"import_policy": "deny-all", "export_policy": "deny-all"}, err)
        for static, carried in (("disabled; ipv4;", True), ("ipv4 { import where net.len > 30; };", False), ("ipv4 { table other; };", False)):
            status, d, err = of("", static)
            self.assertEqual(([r["source"] for r in d["bgp"]["redistribute"]], "static_routes" in d), (["connected"], False), (static, err))
            self.assertEqual("the routes are left out" in err, not carried, err)
        status, d, err = of("", "ipv4;", "disabled;")
        self.assertEqual([r["source"] for r in d["bgp"]["redistribute"]], ["static"], err)
        status, d, err = self.imported(text.replace("neighbor 192", 'vrf "red"; neighbor 192').replace("TABLE", "").replace("STATIC", "ipv4;").replace("DIRECT", ""), accepted=False)
        self.assertNotIn("peers", d["bgp"], err)

    def test_names_with_the_same_beginning(self):
        """Names that keel.json shortens, and changes, stay different."""
        long = "A" * 45
        text = """router id 192.0.2.1;
define %(n)s1 = [ 10.0.0.0/8+ ];
define %(n)s2 = [ 11.0.0.0/8+ ];
filter %(n)sx { if net ~ %(n)s1 || net ~ [ 12.0.0.0/8 ] then accept; reject; }
filter %(n)sy { if net ~ %(n)s2 || net ~ [ 13.0.0.0/8 ] then accept; reject; }
protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter %(n)sx; export filter %(n)sy; }; }
""" % {"n": long}
        status, d, err = self.imported(text)
        self.assertEqual(status, 0, err)
        f = d["bgp"]["peers"][0]["families"]["ipv4-unicast"]
        def seen(name):
            used = json.dumps(policy(d, name))
            return sorted(e["prefix"] for x in d["prefix_lists"] if '"%s"' % x["name"] in used for e in x["entries"])
        self.assertEqual((seen(f["import_policy"]), seen(f["export_policy"])), (["10.0.0.0/8", "12.0.0.0/8"], ["11.0.0.0/8", "13.0.0.0/8"]))

    def test_gateways_of_static_routes(self):
        """`next hop self ebgp` leaves the gateway, keeld does not; an external neighbour on the subnet of the gateway."""
        text = """router id 192.0.2.1;
protocol direct { ipv4; }
protocol static { ipv4; route 203.0.113.0/24 via 192.0.2.77; }
protocol bgp i { local as 64512; neighbor 10.0.0.9 as 64512; ipv4 { import all; export all; SELF }; }
protocol bgp e { local as 64512; neighbor 192.0.2.9 as 64513; MULTIHOP ipv4 { import all; export all; }; }
"""
        for own, multihop, said in (("", "", ["5: " + GATEWAY_NEAR]), ("next hop self;", "", ["5: " + GATEWAY_NEAR]), ("", "multihop;", []),
                                    ("next hop self ebgp;", "multihop;", ["4: changed: static routes get the address of this router as next hop, not the gateway"])):
            status, d, err = self.imported(text.replace("SELF", own).replace("MULTIHOP", multihop))
            self.assertEqual([line[:3] + line.split(";: ")[-1].split("}: ")[-1] for line in err.splitlines() if ": changed: " in line], said, err)
            self.assertEqual(d["bgp"]["redistribute"][1]["policy"], "bird-origin" if own else "static-gateways")

    def test_paths_of_the_kernel_protocol(self):
        for own, want, said in (("merge paths on limit 4", 4, ""), ("merge paths on limit 64", 64, ""), ("merge paths on limit 65", 64, "changed: max_paths is 64"), ("merge paths off", None, ""), ("merge paths", 16, "")):
            status, d, err = self.imported("router id 192.0.2.1;\nprotocol kernel { ipv4 { export all; };\n%s;\n}\n"
                                           "protocol bgp e { local as 64512; neighbor 192.0.2.9 as 64513; ipv4 { import all; export all; }; }\n" % own, accepted=True)
            self.assertEqual((status, d["bgp"].get("max_paths"), said in err), (0, want, True), err)

    def test_attributes_that_static_routes_lack(self):
        """In an export filter of BIRD they are less than all values, and an error for `~`; lab/test_import.py compares with BIRD."""
        text = """router id 192.0.2.1;
protocol direct { ipv4; }
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
filter f { if %s then accept; reject; }
protocol bgp e { local as 64512; neighbor 192.0.2.9 as 64513; ipv4 { import all; export filter f; }; }
"""
        received, range_of = ["external", "internal"], lambda ge, le=4294967295: {"ge": ge, "le": le}
        others = node(10, "deny", match={"source": ["static", "connected"]})
        for condition, want in (
                ("bgp_local_pref = 100", [node(10, "permit", match={"source": received, "local_pref": range_of(100, 100)})]),
                ("bgp_local_pref >= 100", [node(10, "permit", match={"source": received, "local_pref": range_of(100)})]),
                ("bgp_origin = ORIGIN_IGP", [node(10, "permit", match={"source": received, "origin": "igp"})]),
                ("bgp_local_pref < 100", [node(10, "permit", match={"source": received}, goto=30), node(20, "permit", goto=50), node(30, "permit", match={"local_pref": range_of(0, 99)}, goto=50),
                                          node(40, "permit", goto=60), node(50, "permit"), node(60, "deny")]),
                ("bgp_origin ~ [ORIGIN_IGP]", [others, node(20, "permit", match={"origin": "igp"}, goto=40), node(30, "permit", goto=50), node(40, "permit"), node(50, "deny")])):
            status, d, err = self.imported(text % condition)
            self.assertEqual((status, policy(d, "f")), (0, want), (condition, err))
        plain = [node(10, "permit", match={"origin": "igp"})]
        # a policy for received routes, or for these alone, has the condition as it is
        for own in (text.replace("import all; export filter f", "import filter f; export all"), text.replace("protocol static", "#").replace("protocol direct", "#")):
            self.assertEqual(policy(self.imported(own % "bgp_origin = ORIGIN_IGP")[1], "f"), plain)
        _, d, _ = self.imported(text.replace("export filter f", "export where bgp_origin != ORIGIN_IGP") % "true")
        self.assertEqual(policy(d, "e-ipv4-out")[0], node(10, "permit", match={"source": received, "origin": "igp"}, goto=policy(d, "e-ipv4-out")[-1]["seq"]))
        _, d, _ = self.imported(text.replace("if %s then accept;", "case bgp_origin { ORIGIN_IGP: accept; else: reject; }") + "# %s" % "")
        self.assertEqual(policy(d, "f")[0]["match"], {"source": received, "origin": "igp"})
        for condition, regexes in (("bgp_path.first = 0", ["^$", "^\\{", "^0_"]), ("bgp_path.last ~ [0, 5]", ["^$", "\\}$", "(^|[ ])0$", "(^|[ ])5$"]), ("bgp_path ~ [0, 5]", ["_0_", "_5_"])):
            _, d, _ = self.imported(text % condition)
            self.assertEqual([e["regex"] for e in d["as_path_lists"][0]["entries"]], regexes)

    def test_masks_and_as_sets(self):
        """A number between two `*` also is any member of an AS set in keeld."""
        text = "router id 192.0.2.1;\nprotocol bgp e { local as 64512; neighbor 192.0.2.9 as 64513; ipv4 { import where bgp_path ~ [= %s =]; export none; }; }\n"
        for mask, named in (("* 5 *", 0), ("*", 0), ("? ?", 0), ("* 5", 1), ("5 *", 1), ("* 5 6 *", 1), ("* 5 * 6 *", 1), ("* 5 ? *", 1), ("", 0)):
            status, _, err = self.imported(text % mask)
            self.assertEqual((status, err.count(": changed: members of an AS set (RFC 9774) do not match the numbers of the mask")), (0, named), (mask, err))

    def test_two_protocols_with_one_address(self):
        """keeld has one session to an address, BIRD one to an address and a port."""
        text = """router id 192.0.2.1;
protocol bgp a { local as 64512; neighbor 2001:db8::2 port 1790 as 64513; ipv6 { import all; export none; }; }
protocol bgp b { local as 64512; neighbor 2001:DB8:0::2 port 1791 as 64514; ipv6 { import all; export all; }; }
protocol bgp c { local as 64512; neighbor range 192.0.2.0/24 as 64513; ipv4 { import all; export none; }; }
"""
        d, _ = self.verdict(text, "3: protocol bgp b ", ": not carried: an earlier neighbour has the address 2001:DB8:0::2; keeld has one session to an address")
        self.assertEqual([(p["port"], p["asn"]) for p in d["bgp"]["peers"]], [(1790, 64513)])
        d, _ = self.verdict(text.replace("DB8:0::2", "DB8::3") + text.splitlines()[3].replace("bgp c", "bgp d"), "5: protocol bgp d ", ": not carried: the range 192.0.2.0/24 occurs before")
        self.assertEqual(len(d["bgp"]["listen_ranges"]), 1)

    def test_passwords(self):
        for n, status in ((80, 0), (81, 1)):
            got, d, err = self.imported(SERVER.replace('"secret"', '"%s"' % (n * "x")))
            self.assertEqual((got, err.count(": password: not carried: a password has at most 80 octets")), (status, status), err)
            self.assertEqual(d["bgp"]["peers"][0].get("password"), None if status else n * "x")

    def test_numbers(self):
        """A number of more than 32 bits is not carried, and nor is one that keeld refuses. BIRD has no octal numbers."""
        for n in TOO_LARGE + (hex(2 ** 32),):
            for old in ("MYAS = 64512", "as 64513;", "bgp_local_pref = 120", "hold time 30", "multihop 2", "limit 1000", "port 3323", "192.168.0.0/16{16", "0, 23456"):
                new = "%s%s" % (old.rstrip("0123456789;"), n) + (";" if old[-1] == ";" else "")
                status, d, err = self.imported(SERVER.replace(old, new), accepted=False)
                named = [x for x in err.splitlines() if ": not carried: %s is more than 4294967295" % n in x]
                self.assertEqual((status, len(named)), (1, 1), (new, err))
                self.assertNotIn("4294967295", json.dumps(d).replace('"le": 4294967295', ""))
        for old, new in (("hold time 30", "hold time 65536"), ("multihop 2", "multihop 256"), ("multihop 2", "allow local as 256"), ("limit 1000", "limit 0"),
                         ("port 3323", "port 65536"), ("  bgp_local_pref = 120;", "  bgp_path.prepend(0);"), ("multihop 2", "connect retry time 0")):
            self.assertEqual((SERVER.count(old), self.imported(SERVER.replace(old, new))[0]), (1, 1), new)
        self.assertEqual(self.imported(SERVER.replace("hold time 30", "hold time 030"))[1], self.imported(SERVER)[1])

    def test_limits_of_exports(self):
        for line, want in (("export limit 10;", {"limit": 10, "action": "shutdown"}), ("export limit 10 action warn;", {"limit": 10, "action": "warning"}),
                           ("export limit off;", None), ("export limit 10 action block;", None)):
            status, d, err = self.imported("router id 192.0.2.1;\nprotocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { export all; %s }; }\n" % line)
            f = d["bgp"]["peers"][0]["families"]["ipv4-unicast"]
            self.assertEqual((status, f.get("max_prefixes_out"), f["export_policy"]), (1 if "block" in line else 0, want, "accept-all"), err)

    def test_include(self):
        """Files beside the first one, by a pattern; the lines are named by file and number."""
        os.mkdir(os.path.join(self.dir.name, "peers"))
        for n in (1, 2):
            with open(os.path.join(self.dir.name, "peers", "AS%d.conf" % n), "w") as f:
                f.write("# peer %d\nprotocol bgp p%d {\n  local as 64512; neighbor 192.0.2.%d as 6450%d;\n  bfd on;\n  ipv4 { import filter f; export none; };\n}\n" % (n, n, n + 1, n))
        text = 'router id 192.0.2.1;\nfilter f { accept; }\ninclude "peers/*.conf";  # all\ninclude "none.conf";\nprotocol device { }\n'
        status, d, err = self.imported(text)
        self.assertEqual((status, [p["asn"] for p in d["bgp"]["peers"]]), (1, [64501, 64502]), err)
        lines = err.replace(self.dir.name + "/", "").splitlines()
        self.assertIn("peers/AS1.conf:4:   bfd on;: not carried: keel.json has no key of this meaning", lines)
        self.assertIn('4: include "none.conf";: not carried: keel.json has no key of this meaning', lines)
        self.assertIn("5: protocol device { }: done", lines)
        self.assertEqual(lines[-1], "keel-import: 3 lines not carried")
        # a file that includes itself ends
        with open(os.path.join(self.dir.name, "other.conf"), "w") as f:
            f.write(text)
        status, _, err = self.imported(text.replace("none.conf", "other.conf"), accepted=False)  # BIRD refuses it, too
        self.assertEqual(status, 1, err)

    def peers(self, text, status=0):
        """The neighbours by description or address, the document, and the verdicts that are not `done`."""
        got, d, err = self.imported("router id 192.0.2.1;\n" + text)
        self.assertEqual(got, status, err)
        said = [line for line in err.splitlines() if not line.endswith(": done") and not line.startswith("keel-import: ")]
        return {p.get("description", p["address"]): p for p in d["bgp"].get("peers", [])}, d, said

    def test_protocols_without_a_name(self):
        """Their filters, and those of names that are equal at the begin, stay different."""
        for names in (("", ""), ("bgp1", ""), ("A" * 55 + "1", "A" * 55 + "2")):
            _, d, said = self.peers("".join("protocol bgp %s { local as 64512; neighbor 192.0.%d.2 as 64513; ipv4 { import where net ~ [ 10.%d.0.0/16 ]; }; }\n" % (n, i + 2, i)
                                            for i, n in enumerate(names)))
            for i, p in enumerate(d["bgp"]["peers"]):
                used = policy(d, p["families"]["ipv4-unicast"]["import_policy"])[0]["match"]["prefix_list"]
                self.assertEqual(entries(d, "prefix_lists", used)[0]["prefix"], "10.%d.0.0/16" % i, d)
            self.assertTrue(all("changed: the name is" in line for line in said), said)

    def test_connected_routes_of_one_family(self):
        """`direct` with an IPv4 channel announces no IPv6 prefix."""
        text = "protocol direct { %s }\nprotocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { export all; }; ipv6 { export all; }; }\n"
        for channels, name in (("ipv4;", "redistribute-connected"), ("ipv6;", "redistribute-connected"), ("ipv4; ipv6;", "bird-origin")):
            _, d, said = self.peers(text % channels)
            self.assertEqual((d["bgp"]["redistribute"], said), ([{"source": "connected", "policy": name}], []))
            if channels != "ipv4; ipv6;":
                self.assertEqual(policy(d, name), [node(10 + 10 * (channels == "ipv6;"), "permit", match={"family": channels[:4] + "-unicast"}, call="bird-origin")])
        _, d, _ = self.peers("protocol direct one { ipv4; }\n" + text % "ipv6;")
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "connected", "policy": "bird-origin"}])

    def limits(self, template, own, status=0):
        """(max_prefixes, max_prefixes_out) of a neighbour below a template, and the verdicts."""
        peers, d, said = self.peers("template bgp t { local as 64512; ipv4 { import all; %s };\n}\n"
                                    "protocol bgp a from t { neighbor 192.0.2.2 as 64513;\nipv4 { %s };\n}\n" % (template, own), status)
        f, g = peers["a"]["families"]["ipv4-unicast"], d["bgp"]["groups"][0]["families"]["ipv4-unicast"]
        return [f.get(k, g.get(k)) for k in ("max_prefixes", "max_prefixes_out")], said

    def test_limits_that_are_off(self):
        """`off` overrides the limit of the template."""
        none = {"limit": 4294967295, "action": "warning"}
        self.assertEqual(self.limits("import limit 10;", "import limit off;"), ([none, None], []))
        self.assertEqual(self.limits("import keep filtered; receive limit 10;", "receive limit off;"), ([none, None], []))
        self.assertEqual(self.limits("export limit 10;", "export limit off;"), ([None, none], []))
        self.assertEqual(self.limits("", "import limit 5; import limit off; export limit 5; export limit off;"), ([None, None], []))

    def test_limits_of_imports(self):
        """The import limit counts accepted routes, the receive limit all; max_prefixes counts what is kept."""
        ten, five = {"limit": 10, "action": "shutdown"}, {"limit": 5, "action": "discard"}
        both, counts = ": not carried: max_prefixes is the receive limit", ": changed: max_prefixes counts refused routes too, because keeld keeps them"
        lost = ": not carried: max_prefixes counts refused routes only with keep_all_routes"
        for template, own, want, said in (
                ("", "import limit 10;", ten, ""), ("", "import keep filtered; import limit 10;", ten, counts), ("import keep filtered;", "import limit 10;", ten, counts),
                ("import limit 10;", "import keep filtered;", ten, counts), ("", "import limit 10; import table on;", ten, counts),
                ("", "import keep filtered; receive limit 10;", ten, ""), ("", "receive limit 10; import keep filtered;", ten, ""),
                ("", "import keep filtered off; receive limit 10;", None, lost), ("", "import keep filtered; receive limit 10; import limit 5 action block;", ten, both),
                ("", "receive limit 10; import limit 5 action block;", five, lost), ("import limit 5 action block;", "import keep filtered; receive limit 10;", ten, both),
                ("import keep filtered; receive limit 10;", "import keep filtered off;", {"limit": 4294967295, "action": "warning"}, lost)):
            got, lines = self.limits(template, own, int("not carried" in said))
            self.assertEqual(got[0], want, (template, own))
            self.assertEqual([line[line.index("}"):].lstrip("}; ") if "}" in line else line for line in lines], [said.lstrip()] if said else [], (template, own, lines))

    def test_a_limit_is_one_value(self):
        """A template with `disable` below one with `restart` restarts no session."""
        _, d, _ = self.peers("template bgp t { local as 64512; ipv4 { import limit 10 action restart; }; }\n"
                             "template bgp u from t { ipv4 { import limit 5 action disable; }; }\nprotocol bgp a from u { neighbor 192.0.2.2 as 64513; }\n")
        self.assertEqual([g["families"]["ipv4-unicast"]["max_prefixes"] for g in d["bgp"]["groups"]],
                         [{"limit": 10, "action": "shutdown", "restart_s": 60}, {"limit": 5, "action": "shutdown"}])

    def test_hops(self):
        """`direct` below a template with multihop; the TTL of multihop without a number; TTL security over several hops."""
        text = "template bgp t { local as 64512; hold time 30; multihop%s; ipv4 { import all; }; }\nprotocol bgp a from t { neighbor 192.0.2.2 as 64513; %s }\n"
        peers, d, said = self.peers(text % ("", ""))
        self.assertEqual((d["bgp"]["groups"][0]["multihop"], peers["a"].get("multihop"), said), (64, None, []))
        peers, d, said = self.peers(text % (" 4", "direct;"))
        self.assertEqual({k: peers["a"].get(k) for k in ("multihop", "group", "timers")}, {"multihop": None, "group": None, "timers": {"hold_s": 30}})
        self.assertEqual((len(said), said[0].split(": ", 2)[2]), (1, "changed: the keys of the template are its own, but for multihop"), said)
        self.assertEqual(peers["a"]["families"]["ipv4-unicast"]["import_policy"], "accept-all")
        _, d, _ = self.peers(text.replace("neighbor 192.0.2.2", "neighbor range 192.0.2.0/24") % (" 4", "direct;"))
        self.assertEqual([g.get("multihop") for g in d["bgp"]["groups"]], [4, None])
        for template, own in ((" 4", "ttl security on;"), (" 4; ttl security on", "")):
            peers, d, said = self.peers(text % (template, own), 1)
            self.assertEqual(peers["a"].get("gtsm", d["bgp"]["groups"][0].get("gtsm")), False)
            self.assertIn("not carried: TTL security over several hops", said[0])

    def test_tables_of_roas(self):
        """keeld has one table of ROAs: a check against one of two rejects, and their caches are named."""
        text = ("%sprotocol rpki r { roa4 { table a; %s};\nremote 127.0.0.1 port 3323; }\n"
                "filter f { if roa_check(a, net, bgp_path.last) = ROA_INVALID then reject; accept; }\n"
                "protocol bgp p { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import filter f; }; }\n")
        _, d, said = self.peers(text % ("roa4 table a;\nroa6 table c;\n", ""))
        self.assertEqual((len(policy(d, "f")), said), (2, []))
        _, d, said = self.peers(text % ("roa4 table a;\nroa4 table b;\n", ""), 1)
        self.assertEqual([n["action"] for n in policy(d, "f")], ["deny"])
        self.assertEqual([line.count("keeld has one table of ROAs, the file has more") for line in said], [1, 1], said)
        _, d, said = self.peers(text % ("roa4 table a;\n", "import where net.len < 25; "), 1)
        self.assertEqual((len(said), said[0].startswith("3: protocol rpki")), (1, True), said)

    def test_words_of_bird_2_17(self):
        """The versions of RTR, and the kind of authentication, that keeld has, too."""
        text = ("roa4 table r4;\nprotocol rpki { roa4 { table r4; }; remote 192.0.2.20; min version %d; max version %d; }\nfunction good() -> bool { return true; }\n"
                "protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; authentication %s; password \"abc\"; ipv4 { export none; }; }\n")
        for lowest, highest, kind, bad in ((0, 1, "md5", 0), (1, 2, "md5", 0), (2, 2, "md5", 1), (0, 0, "md5", 1), (0, 1, "ao", 1)):
            _, d, err = self.imported(self.ROUTER + text % (lowest, highest, kind))
            self.assertEqual(err.count("not carried"), 2 * bad, err)  # with the last line, which counts
            self.assertEqual((d["rpki"]["caches"][0]["address"], d["bgp"]["peers"][0]["password"]), ("192.0.2.20", "abc"))

    def test_a_table_of_the_template(self):
        """A channel of another table belongs to the neighbour also where only the template has the channel."""
        peers, _, said = self.peers("ipv4 table other;\ntemplate bgp t { local as 64512;\nipv4 { table other; import all; export all; }; }\n"
                                    "protocol bgp a from t { neighbor 192.0.2.2 as 64513; }\n", 1)
        self.assertEqual(peers["a"]["families"]["ipv4-unicast"], {"import_policy": "deny-all", "export_policy": "deny-all"})
        self.assertIn("not carried: a channel of another table; no route passes", said[-1])

    def test_ranges_that_are_left_out(self):
        """No session comes up that BIRD would have with another AS number, or in a VRF."""
        text = "protocol bgp a { local as 64512; neighbor 192.0.2.2 as 64513; ipv4 { import all; }; }\nprotocol bgp r { %s neighbor range 10.0.0.0/8 as 64514; ipv4 { import all; }; }\n"
        for own, ranges in (("local as 64512;", 1), ("local as 64999;", 0), ("", 0), ('local as 64512; vrf "red";', 0)):
            _, d, _ = self.peers(text % own, int(not ranges))
            self.assertEqual(len(d["bgp"].get("listen_ranges", [])), ranges, own)

    def test_the_as_number_of_the_neighbour_wins(self):
        text = "template bgp t { local as 64512; neighbor %s; ipv4 { import all; }; }\nprotocol bgp a from t { neighbor 192.0.2.2 %s; }\n"
        for template, own, want in (("internal", "as 64513", 64513), ("as 64513", "internal", 64512)):
            self.assertEqual(self.peers(text % (template, own))[0]["a"]["asn"], want)

    def test_what_is_not_carried_is_named(self):
        for text, line in (("protocol ospf { area 0 { interface \"eth0\"; }; }", "protocol ospf"), ("include \"x.conf\";", "include"),
                           ("protocol bgp z { local as 64999; neighbor 192.0.2.30 as 64513; ipv4; }", "protocol bgp z"),
                           ("protocol bgp z { local as MYAS; neighbor 192.0.2.30 as 64513; ipv4 { add paths on; }; }", "protocol bgp z"),
                           ("protocol bgp z { local as MYAS; neighbor 192.0.2.30 as 64513; vpn4 mpls { import all; }; }", "protocol bgp z"),
                           ("protocol static s { ipv4; route 10.9.0.0/24 via \"eth0\"; }", "protocol static s"),
                           ("protocol kernel { learn; ipv4 { export all; }; }", "protocol kernel"), ("} }", "} }"), ("ipv4 table t;", "ipv4 table")):
            status, d, err = self.imported(SERVER + text + "\n")
            if text != "} }":
                self.assertEqual((status, err.count(": not carried: ")), (1, 1), (text, err))
                self.assertTrue(any(": not carried: " in n and line in n for n in err.splitlines()), (text, err))
        status, d, err = self.imported(SERVER + "protocol bgp z { local as MYAS; neighbor 192.0.2.30 as 64513; ipv4 { import filter nothing; export filter none_such; }; }")
        self.assertEqual(d["bgp"]["peers"][-1]["families"]["ipv4-unicast"], {"import_policy": "deny-all", "export_policy": "deny-all"})


# ---- VRP ----

VRP = """#
sysname edge
#
router id 192.0.2.1
#
bgp 64512
 private-4-byte-as enable
 undo default ipv4-unicast
 group transit external
 peer transit password simple secret
 peer transit timer keepalive 10 hold 30
 peer 192.0.2.2 as-number 64513
 peer 192.0.2.2 group transit
 peer 192.0.2.2 description the first of two
 peer 192.0.2.3 as-number 64514
 peer 192.0.2.3 group transit
 peer 192.0.2.3 ebgp-max-hop 4
 group inside internal
 peer 192.0.2.9 as-number 64512
 peer 192.0.2.9 group inside
 #
 ipv4-family unicast
  undo synchronization
  network 198.51.100.0 255.255.255.0
  import-route static route-policy out
  peer transit enable
  peer transit route-policy in import
  peer transit route-policy out export
  peer transit keep-all-routes
  peer transit route-limit 1000 90 alert-only
  peer 192.0.2.2 enable
  peer 192.0.2.2 group transit
  peer 192.0.2.3 enable
  peer inside enable
  peer inside next-hop-local
  peer inside reflect-client
  peer inside advertise-community
  peer 192.0.2.9 enable
 #
 ipv6-family unicast
  peer 192.0.2.3 enable
  network 2001:DB8:: 32
#
route-policy in deny node 5
 if-match ip-prefix bogons
#
route-policy in permit node 10
 if-match as-path-filter short 7
 if-match community-filter cust
 apply local-preference 120
 apply community 64512:7 no-export additive
#
route-policy out permit node 10
 if-match ip-prefix ours
 apply as-path 64512 64512 additive
 apply cost 5
#
ip ip-prefix ours index 20 permit 198.51.100.0 24
ip ip-prefix ours index 10 deny 198.51.100.128 25
ip ip-prefix bogons index 5 permit 10.0.0.0 8 greater-equal 8 less-equal 32
ip as-path-filter short permit ^64513_
ip as-path-filter 7 index 10 permit ^64514_
ip community-filter basic cust permit 64512:100
#
ip route-static 203.0.113.0 255.255.255.0 NULL0 tag 5 description black hole
ip route-static 10.0.0.0 8 192.0.2.254
#
return
"""


class Vrp(Case):
    DIALECT = "vrp"

    def test_a_lost_jump_denies(self):
        """The node jumps over a permit to a deny: its routes must not reach the permit."""
        status, d, err = self.imported("""bgp 64512
 router-id 192.0.2.1
 peer 192.0.2.2 as-number 64513
 ipv4-family unicast
  peer 192.0.2.2 enable
  peer 192.0.2.2 route-policy out export
ip ip-prefix p8 index 10 permit 10.0.0.0 8
route-policy out permit node 10
 if-match ip-prefix p8
 goto next-node 30
route-policy out permit node 20
route-policy out deny node 30
""")
        self.assertEqual((status, policy(d, "out")[0]), (1, node(10, "deny", match={"prefix_list": "p8"})), err)
        self.assertIn(" goto next-node 30: not carried: node 10 denies\n", err)

    def test_an_edge(self):
        status, d, err = self.imported(VRP)
        self.assertEqual((status, [line for line in err.splitlines() if "not carried" in line]), (0, []), err)
        self.assertNotIn("secret", err)
        self.assertEqual(d["router"], {"asn": 64512, "router_id": "192.0.2.1"})
        self.assertEqual([e["prefix"] for e in entries(d, "prefix_lists", "ours")], ["198.51.100.128/25", "198.51.100.0/24"])
        self.assertEqual(d["route_policies"], [
            {"name": "in", "nodes": [
                node(5, "deny", match={"prefix_list": "bogons"}),
                node(10, "permit", match={"as_path_list": ["short", "n-7"], "community_list": "cust"},
                     set={"local_pref": 120, "communities": {"add": ["64512:7", "no-export"]}})]},
            {"name": "out", "nodes": [node(10, "permit", match={"prefix_list": "ours"}, set={"as_path_prepend": {"asn": 64512, "count": 2}, "med": 5})]},
            {"name": "redistribute-static", "nodes": [node(10, "permit", match={"family": "ipv4-unicast"}, call="out")]}])
        self.assertEqual(d["static_routes"], [{"prefix": "203.0.113.0/24", "blackhole": True, "tag": 5, "description": "black hole"},
                                              {"prefix": "10.0.0.0/8", "next_hop": "192.0.2.254"}])
        self.assertEqual(d["bgp"]["redistribute"], [{"source": "static", "policy": "redistribute-static"}])
        self.assertEqual([n["prefix"] for n in d["bgp"]["networks"]], ["198.51.100.0/24", "2001:db8::/32"])
        self.assertEqual(d["bgp"]["groups"], [
            {"name": "transit", "password": "secret", "timers": {"keepalive_s": 10, "hold_s": 30}, "families": {"ipv4-unicast": {
                "enabled": True, "import_policy": "in", "export_policy": "out", "keep_all_routes": True,
                "max_prefixes": {"limit": 1000, "threshold_percent": 90, "action": "discard"}}}},
            {"name": "inside", "asn": 64512, "route_reflector_client": True, "families": {"ipv4-unicast": {
                "enabled": True, "next_hop_self": True, "send_communities": True}}}])
        all_pass = {"import_policy": "accept-all", "export_policy": "accept-all"}
        self.assertEqual(d["bgp"]["peers"], [
            {"address": "192.0.2.2", "asn": 64513, "group": "transit", "description": "the first of two",
             "families": {"ipv4-unicast": {"enabled": True, "send_communities": False}}},
            {"address": "192.0.2.3", "asn": 64514, "group": "transit", "multihop": 4, "families": {
                "ipv4-unicast": {"enabled": True, "send_communities": False}, "ipv6-unicast": dict(all_pass, enabled=True, send_communities=False)}},
            {"address": "192.0.2.9", "asn": 64512, "group": "inside", "families": {"ipv4-unicast": dict(all_pass, enabled=True)}}])

    def test_default_routes(self):
        """import-route imports a default route only with default-route imported."""
        text = VRP.replace("ip route-static 203.0.113.0", "ip route-static 0.0.0.0 0 192.0.2.254\nip route-static 203.0.113.0")
        _, d, err = self.imported(text)
        name = policy(d, d["bgp"]["redistribute"][0]["policy"])[0]["call"]
        self.assertEqual(policy(d, name), [node(10, "deny", match={"prefix_list": name}), node(20, "permit", call="out")], err)
        self.assertEqual([e["prefix"] for e in entries(d, "prefix_lists", name)], ["0.0.0.0/0", "::/0"])
        self.assertEqual(self.imported(text.replace("  import-route", "  default-route imported\n  import-route"))[1]["bgp"]["redistribute"][0]["policy"], self.imported(VRP)[1]["bgp"]["redistribute"][0]["policy"])
        _, d, _ = self.imported(text.replace("import-route static route-policy out", "import-route static"))
        self.assertEqual(policy(d, policy(d, d["bgp"]["redistribute"][0]["policy"])[0]["call"])[1], node(20, "permit"))

    def test_limits(self):
        """With alert-only VRP accepts no further routes."""
        for words, want, status in (("1000 90 alert-only", {"limit": 1000, "action": "discard", "threshold_percent": 90}, 0), ("1000 idle-forever", {"limit": 1000, "action": "shutdown"}, 0),
                                    ("1000 90", {"limit": 1000, "action": "discard", "threshold_percent": 90}, 1), ("1000", {"limit": 1000, "action": "discard"}, 1)):
            base = self.imported(VRP)[0]
            got, d, err = self.imported(VRP.replace("1000 90 alert-only", words))
            self.assertEqual((d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["max_prefixes"], got), (want, max(base, status)), err)

    def test_families_and_filters(self):
        """Views of other families change no family; filter-policy lets no route pass in its direction; reflect-client of one family."""
        block = " #\n link-state-family unicast\n  peer 192.0.2.9 enable\n #\n l2vpn-ad-family\n  peer 192.0.2.9 enable\n"
        _, want, _ = self.imported(VRP.replace("  peer 192.0.2.9 enable\n", "  undo peer 192.0.2.9 enable\n"))
        status, d, err = self.imported(VRP.replace("  peer 192.0.2.9 enable\n", "  undo peer 192.0.2.9 enable\n" + block))
        self.assertEqual((status, d), (1, want), err)
        status, d, err = self.imported(VRP.replace("  peer inside enable", "  filter-policy ip-prefix ours export\n  peer inside enable"))
        self.assertEqual(status, 1, err)
        for p in d["bgp"]["peers"]:
            name = p["families"]["ipv4-unicast"].get("export_policy")
            self.assertEqual(policy(d, name)[0], node(10, "deny"), p)
        status, d, err = self.imported(VRP.replace("  peer 192.0.2.3 enable\n  network", "  peer 192.0.2.3 enable\n  peer inside enable\n  network"))
        self.assertEqual(([g.get("route_reflector_client") for g in d["bgp"]["groups"]], "inside: not carried: route_reflector_client of one family" in err), ([None, None], True), err)

    def test_node_0(self):
        """The numbers of a policy with a node 0 are one more."""
        nodes = "route-policy z deny node 0\n if-match ip-prefix bogons\n#\nroute-policy z permit node 1\n#\n"
        _, d, err = self.imported(VRP + nodes)
        self.assertEqual(policy(d, "z"), [node(1, "deny", match={"prefix_list": "bogons"}), node(2, "permit")], err)
        _, d, err = self.imported(VRP + "route-policy z permit node 5\n#\nroute-policy z deny node 0\nif-match ip-prefix bogons\n")
        self.assertEqual(policy(d, "z"), [node(1, "deny", match={"prefix_list": "bogons"}), node(6, "permit")], err)

    def test_next_hops(self):
        """VRP advertises its own address, as keeld, but for `nexthop third-party`."""
        text = VRP.replace("  peer inside next-hop-local\n", "")
        _, d, err = self.imported(text)
        self.assertEqual((d["bgp"]["redistribute"], err.count("as next hop")), ([{"source": "static", "policy": "redistribute-static"}], 0), err)
        self.verdict(text.replace("  peer transit enable\n", "  nexthop third-party\n  peer transit enable\n"), "  nexthop third-party: ")

    def test_numbers_and_passwords(self):
        """No number is clamped; TCP MD5 takes 80 octets."""
        for n in TOO_LARGE:
            for old, new in (("as-number 64514", "as-number %d"), ("cost 5", "cost %d"), ("local-preference 120", "local-preference %d"), ("index 20 permit", "index %d permit"),
                             ("less-equal 32", "less-equal %d"), ("tag 5", "tag %d"), ("keepalive 10", "keepalive %d"), ("route-limit 1000", "route-limit %d")):
                status, d, err = self.imported(VRP.replace(old, new % n))
                self.assertEqual((VRP.count(old), status, len([x for x in err.splitlines() if ": not carried: " in x and str(n) in x])), (1, 1, 1), (new % n, err))
                self.assertNotIn("4294967295", json.dumps(d))
        for n, status in ((80, 0), (81, 1)):
            got, d, err = self.imported(VRP.replace("simple secret", "simple " + n * "x"))
            self.assertEqual((got, err.count("password: not carried: a password has at most 80 octets")), (status, status), err)
            self.assertEqual(d["bgp"]["groups"][0].get("password"), None if status else n * "x")

    def test_values_that_keeld_refuses(self):
        head = "router id 192.0.2.1\nbgp 64512\n"
        d = self.refused("ip extcommunity-filter basic e index 10 permit rt strange\nip extcommunity-filter basic e index 20 permit rt 70000:70000\n"
                         "ip ip-prefix p index 10 permit 10.0.0.0 8 less-equal 4\nip as-path-filter a index 10 permit 64512)\nroute-policy x permit node 10\n if-match extcommunity-filter e\n"
                         "route-policy x permit node 20\n if-match as-path-filter a\nroute-policy x permit node 30\n if-match ip-prefix p\nroute-policy x permit node 40\n"
                         " apply as-path 0 additive\nroute-policy x deny node 65536\n", '"strange" is no route target', '"70000:70000" is no route target',
                         "less-equal 4: not carried: the range of lengths is empty", "64512): not carried: keeld does not read the expression", "apply as-path 0 additive: not carried",
                         "node 65536: not carried", head=head)
        self.assertEqual([n["seq"] for n in policy(d, "x")], [40])
        d = self.refused(" group g internal\n peer 192.0.2.2 group g\n peer 192.0.2.2 substitute-as\n peer 192.0.2.2 route-limit 10 101 alert-only\n peer 192.0.2.3 as-number 64513\n"
                         " peer 192.0.2.3 reflect-client\n peer 192.0.2.3 valid-ttl-hops 1\n peer 192.0.2.3 ebgp-max-hop 2\n peer 192.0.2.3 route-limit 10 idle-timeout 5 alert-only\n"
                         " reflector cluster-id 7\nbgp 64513\nip route-static 203.0.113.0 24 192.0.2.7\nip route-static 203.0.113.0 24 NULL0\n",
                         "192.0.2.2: not carried: as_override of an internal neighbour", "not carried: threshold_percent is a number from 1 to 100",
                         "192.0.2.3: not carried: route_reflector_client of an external neighbour", "192.0.2.3: not carried: gtsm over several hops", "bgp 64513: not carried: a further router",
                         "NULL0: not carried: the prefix has a route of another kind", head=head)
        self.assertEqual((d["router"]["asn"], d["bgp"]["cluster_id"], d["bgp"]["peers"][1]["families"]["ipv4-unicast"]["max_prefixes"]), (64512, 7, {"limit": 10, "action": "discard"}))

    def test_filters_of_a_peer(self):
        """VRP lets all routes pass where no policy is named: filters beside policies must all permit."""
        text = VRP.replace("  peer 192.0.2.9 enable\n", "  peer 192.0.2.9 enable\n  peer 192.0.2.9 ip-prefix ours import\n  peer 192.0.2.3 as-path-filter short import\n"
                           "  peer 192.0.2.9 as-path-filter 7 export\n")
        status, d, err = self.imported(text)
        self.assertEqual(status, 0, err)
        inside, third = (next(p["families"]["ipv4-unicast"] for p in d["bgp"]["peers"] if p["address"] == a) for a in ("192.0.2.9", "192.0.2.3"))
        self.assertEqual(policy(d, inside["import_policy"]), [node(10, "deny", match={"not": {"prefix_list": "ours"}}), node(20, "permit")])
        self.assertEqual(policy(d, inside["export_policy"]), [node(10, "deny", match={"not": {"as_path_list": "n-7"}}), node(20, "permit")])
        self.assertEqual(policy(d, third["import_policy"]), [node(10, "deny", match={"not": {"as_path_list": "short"}}), node(20, "permit", call="in")])
        status, d, err = self.imported(text.replace("ip-prefix ours import", "filter-policy 2000 import"))
        self.assertEqual((status, policy(d, next(p for p in d["bgp"]["peers"] if p["address"] == "192.0.2.9")["families"]["ipv4-unicast"]["import_policy"])),
                         (1, [node(10, "deny"), node(20, "permit")]), err)
        # a list or policy that does not exist is not guessed
        status, d, err = self.imported(VRP.replace("ip ip-prefix ours", "ip ip-prefix other"))
        self.assertEqual((status, policy(d, "out")), (1, []), err)
        status, d, err = self.imported(VRP.replace("route-policy in import", "route-policy none import"))
        self.assertEqual((status, d["bgp"]["groups"][0]["families"]["ipv4-unicast"]["import_policy"]), (1, "deny-all"), err)
        status, d, err = self.imported(VRP.replace("as-number 64513", "as-number 1.10"))
        self.assertEqual((status, d["bgp"]["peers"][0]["asn"]), (0, 65546), err)

    def test_what_is_not_carried_is_named(self):
        for old, new in (("  peer inside enable\n", "  peer inside enable\n  peer inside preferred-value 5\n"), (" apply cost 5\n", " apply cost + 5\n"),
                         (" if-match ip-prefix ours\n", " if-match acl 2000\n"), ("sysname edge\n", "interface LoopBack0\n"),
                         ("ip route-static 10.0.0.0 8 192.0.2.254", "ip route-static 10.0.0.0 8 GigabitEthernet0/0/1 192.0.2.254"),
                         ("permit 64512:100", "permit 64512:100 64512:101"), (" password simple secret", " password cipher %^%#abc"),
                         ("  undo synchronization\n", "  aggregate 198.51.0.0 16\n"), ("  network 198.51.100.0 255.255.255.0", "  network 198.51.100.0 255.0.255.0")):
            status, d, err = self.imported(VRP.replace(old, new), accepted=False)
            # an entry that is not carried costs the node with the list, too
            self.assertEqual((status, err.count(": not carried: ")), (1, 2 if "64512:101" in new else 1), (new, err))
        _, d, _ = self.imported(VRP.replace(" if-match ip-prefix ours\n", " if-match acl 2000\n"), accepted=False)
        self.assertEqual(policy(d, "out"), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
