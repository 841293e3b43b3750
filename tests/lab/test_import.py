#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl import: for seventeen shapes of configurations the other daemon runs first (for VRP, FRR with the same configuration), and its peers record what it announces, attribute by
attribute; then keeld runs with the imported document, and its peers must get the same. Lines that are not carried are exactly those listed here.

    sp (scripted speakers, 198.18.N.2, AS of the shape) --- rt (198.18.N.1: BIRD or bgpd, then keeld)
"""
import collections
import ipaddress
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import daemons
import labtest
from lab import at_rest
from labtest import KEELCTL, KEELD, UPDATE, V4, V6, Lab, Speaker, need, out_folder, wait_for
from wire import announce

NAME = "import"
LINKS = 4


def us(n):
    return "198.18.%d.1" % n


def them(n):
    return "198.18.%d.2" % n


def six_address(address):
    """198.18.N.M as an IPv6 address."""
    return "2001:db8:18:%s::%s" % tuple(address.split(".")[2:])


def six_prefix(prefix):
    """An IPv4 prefix as the IPv6 prefix with the same bits behind 2a00::/16."""
    address, length = prefix.split("/")
    if length == "0":
        return "::/0"
    return "%s/%d" % (ipaddress.IPv6Address(0x2a00 << 112 | int(ipaddress.IPv4Address(address)) << 80), int(length) + 16)


def six(text):
    """A configuration of BIRD or FRR for IPv4 as one for IPv6."""
    def longer(found):
        return re.sub(r"\d+", lambda n: str(int(n[0]) + 16), found[0])
    text = re.sub(r"198\.18\.\d+\.\d+\b(?!/)", lambda found: six_address(found[0]), text)
    text = re.sub(r"\b\d+\.\d+\.\d+\.\d+/\d+", lambda found: six_prefix(found[0]), text)
    text = re.sub(r"\{\d+,\d+\}|\b[gl]e \d+", longer, text)
    for four, new in (("address-family ipv4", "address-family ipv6"), ("ip prefix-list", "ipv6 prefix-list"), ("match ip address", "match ipv6 address"),
                      ("ipv4 {", "ipv6 {"), ("ipv4;", "ipv6;")):
        text = text.replace(four, new)
    return text


def on_lan(n):
    """The Nth client of a route server: all are on one subnet."""
    return "198.18.1.%d" % (n + 1)


def route(path, **more):
    return dict({"as_path": path}, **more)


# Routes that a neighbour of AS N announces: bogons, long paths, foreign first AS numbers, communities of all kinds, MED, origins.
def offers(asn, net):
    return {
        "10.%d.0.0/16" % net: route("%d" % asn),
        "203.0.%d.0/24" % net: route("%d 64700" % asn, med=5),
        "203.0.%d.0/25" % net: route("%d 64700 64701" % asn, origin="egp"),
        "203.1.%d.0/24" % net: route("%d 65000 64701" % asn),
        "203.2.%d.0/24" % net: route("%d 64700 64702" % asn, communities=["64512:100", "%d:666" % asn, "64512:1"], origin="incomplete"),
        "203.3.%d.0/24" % net: route("%d 64700 64703" % asn, large_communities=["64512:1:9", "64700:1:2"], ext_communities=["rt:64700:5"]),
        "203.4.%d.0/24" % net: route(" ".join(["%d" % asn] + ["64704"] * 6), communities=["64700:1"]),
        "203.5.0.0/16": route("%d %s" % (asn, "64705 64706" if net % 2 else "64706"), communities=["64512:%d" % net]),
        "203.6.%d.0/24" % net: route("%d 64512 64700" % asn),
        "198.51.100.0/24": route("%d 64700 64707 64708" % asn),
        "0.0.0.0/0": route("%d" % asn),
    }


BIRD_EDGE = """log stderr all;
router id 192.0.2.1;
define MYAS = 64512;
define BOGONS = [ 10.0.0.0/8+, 192.168.0.0/16+, 203.0.0.0/16{25,32} ];
define BOGON_ASNS = [ 0, 23456, 64999..65100 ];
define OURS = [ 198.51.100.0/24, 198.51.101.0/24 ];
protocol device { scan time 10; }
protocol static ours {
  ipv4;
  route 198.51.100.0/24 blackhole;
  route 198.51.101.0/24 blackhole;
  route 192.0.2.128/25 blackhole;
}
function hygiene(int neighbour_as) {
  if net ~ BOGONS || net ~ OURS || net.len = 0 then return false;
  if bgp_path ~ BOGON_ASNS then return false;
  if bgp_path.first != neighbour_as || bgp_path.len > 6 then return false;
  return true;
}
function origin_of(int place) {
  bgp_community.delete([(64512, 1..9)]);
  bgp_large_community.add((MYAS, 1, place));
}
filter from_u1 {
  if !hygiene(64513) then reject;
  origin_of(1);
  if (64513, 666) ~ bgp_community then reject;
  case bgp_origin { ORIGIN_EGP: bgp_local_pref = 90; ORIGIN_INCOMPLETE: bgp_local_pref = 95; else: bgp_local_pref = 110; }
  accept;
}
filter from_u2 {
  if !hygiene(64514) then reject;
  if bgp_community ~ [(64512, 100), (64514, 666)] then { bgp_local_pref = 50; bgp_community.add((65535, 65281)); }
  else if bgp_path ~ [= * 64706 =] then bgp_local_pref = 130;
  origin_of(2);
  accept;
}
filter to_up {
  if source = RTS_STATIC && net ~ OURS then {
    if net = 198.51.101.0/24 then { bgp_path.prepend(MYAS); bgp_path.prepend(MYAS); bgp_med = 20; }
    bgp_community.add((64512, 50));
    accept;
  }
  reject;
}
filter to_customer {
  if net ~ [ 192.0.2.128/25 ] then reject;
  bgp_ext_community.add((rt, 64512, 7));
  accept;
}
template bgp up {
  local as MYAS;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { export filter to_up; };
}
protocol bgp u1 from up { neighbor 198.18.1.2 as 64513; ipv4 { import filter from_u1; }; }
protocol bgp u2 from up { neighbor 198.18.2.2 as 64514; ipv4 { import filter from_u2; import keep filtered; }; }
protocol bgp customer {
  local as MYAS; neighbor 198.18.3.2 as 64515;
  ipv4 { import where net ~ [ 203.9.0.0/16{17,24} ]; export filter to_customer; import limit 10 action block; };
}
protocol bgp inside {
  local 198.18.4.1 as MYAS; neighbor 198.18.4.2 as MYAS;
  ipv4 { import all; export where source = RTS_BGP || net ~ OURS; next hop self; };
}
"""

BIRD_REFLECTOR = """log stderr all;
router id 192.0.2.1;
protocol device { }
protocol direct { ipv4; }
template bgp clients {
  local as 64512;
  rr client; rr cluster id 192.0.2.99;
  hold time 60;
  ipv4 { import all; export where !(bgp_community ~ [(64512, 1)]); };
}
protocol bgp c1 from clients { neighbor 198.18.1.2 as 64512; source address 198.18.1.1; }
protocol bgp c2 from clients { neighbor 198.18.2.2 internal; source address 198.18.2.1; ipv4 { import where bgp_path.len < 4; }; }
protocol bgp third { local 198.18.3.1 as 64512; neighbor 198.18.3.2 as 64512; ipv4 { import all; export all; }; }
protocol bgp outside { local as 64512; neighbor 198.18.4.2 as 64516; ipv4 { import filter { bgp_local_pref = 77; accept; }; export filter { bgp_large_community.empty; accept; }; }; }
"""

FRR_EDGE = """frr defaults traditional
hostname edge
log stdout
bgp route-map delay-timer 0
ip prefix-list ours seq 10 permit 198.51.100.0/24
ip prefix-list ours seq 20 permit 198.51.101.0/24
ip prefix-list bogons seq 5 permit 10.0.0.0/8 ge 8 le 32
ip prefix-list bogons seq 6 permit 203.0.0.0/16 ge 25
ip prefix-list bogons seq 7 permit 0.0.0.0/0
bgp as-path access-list odd permit _65000_
bgp as-path access-list long permit _64704_64704_
bgp community-list standard cust permit 64512:100
bgp large-community-list standard mark permit 64512:1:9
router bgp 64512
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
 no bgp network import-check
 neighbor transit peer-group
 neighbor transit timers 10 30
 neighbor transit timers connect 1
 neighbor 198.18.1.2 remote-as 64513
 neighbor 198.18.1.2 peer-group transit
 neighbor 198.18.2.2 remote-as 64514
 neighbor 198.18.2.2 peer-group transit
 neighbor 198.18.3.2 remote-as 64515
 neighbor 198.18.3.2 timers connect 1
 neighbor 198.18.4.2 remote-as internal
 neighbor 198.18.4.2 update-source 198.18.4.1
 neighbor 198.18.4.2 timers connect 1
 !
 address-family ipv4 unicast
  network 198.51.100.0/24
  network 198.51.101.0/24
  network 192.0.2.128/25
  neighbor transit activate
  neighbor transit soft-reconfiguration inbound
  neighbor transit route-map in in
  neighbor transit route-map out out
  neighbor 198.18.3.2 activate
  neighbor 198.18.3.2 route-map all in
  neighbor 198.18.3.2 route-map customer out
  neighbor 198.18.4.2 activate
  neighbor 198.18.4.2 next-hop-self
 exit-address-family
exit
route-map in deny 5
 match ip address prefix-list bogons
exit
route-map in deny 6
 match as-path odd
exit
route-map in deny 7
 match as-path long
exit
route-map in permit 10
 match community cust
 set local-preference 120
 set community 64512:7 additive
exit
route-map in permit 20
 match large-community mark
 set local-preference 80
 set origin egp
exit
route-map in permit 30
exit
route-map out permit 10
 match ip address prefix-list ours
 set as-path prepend 64512 64512
 set community 64512:50
 set metric 5
exit
route-map all permit 10
exit
route-map customer permit 10
 set large-community 64512:2:2 additive
exit
"""

FRR_REFLECTOR = """log stdout
bgp route-map delay-timer 0
router bgp 64512
 bgp router-id 192.0.2.1
 bgp cluster-id 192.0.2.99
 no bgp ebgp-requires-policy
 neighbor clients peer-group
 neighbor clients remote-as internal
 neighbor clients timers connect 1
 neighbor 198.18.1.2 peer-group clients
 neighbor 198.18.2.2 peer-group clients
 neighbor 198.18.3.2 remote-as 64512
 neighbor 198.18.3.2 timers connect 1
 neighbor 198.18.4.2 remote-as 64516
 neighbor 198.18.4.2 timers connect 1
 address-family ipv4 unicast
  neighbor clients route-reflector-client
  neighbor 198.18.4.2 attribute-unchanged next-hop
 exit-address-family
exit
"""

# FRR activates a neighbour for IPv4 alone by itself.
FRR_CLIENTS = "  neighbor clients route-reflector-client\n"
FRR_ACTIVE = "".join("  neighbor %s activate\n" % n for n in ("clients", "198.18.3.2", "198.18.4.2"))

BIRD_ROUTE_SERVER = """log stderr all;
router id 192.0.2.1;
define RS = 64512;
protocol device { }
function good(int peer_as) {
  if net ~ [ 10.0.0.0/8+, 0.0.0.0/0, 203.0.0.0/16{25,32} ] then return false;
  if bgp_path.first != peer_as || bgp_path.len > 6 then return false;
  if bgp_path ~ [= * 65000 * =] then return false;
  return true;
}
function wanted(int peer_as) {
  if (0, peer_as) ~ bgp_community then return false;
  if (RS, 0, peer_as) ~ bgp_large_community then return false;
  if (RS, 1, peer_as) ~ bgp_large_community then return true;
  if (RS, 0, 0) ~ bgp_large_community then return false;
  return true;
}
function prepended(int peer_as) {
  if (RS, 101, peer_as) ~ bgp_large_community then bgp_path.prepend(bgp_path.first);
}
function scrubbed() {
  bgp_large_community.delete([(RS, *, *)]);
  bgp_community.delete([(0, *)]);
}
template bgp clients {
  local 198.18.1.1 as RS;
  rs client;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import keep filtered; };
}
filter in_64513 { if !good(64513) then reject; accept; }
filter in_64514 { if !good(64514) then reject; accept; }
filter in_64515 { if !good(64515) then reject; accept; }
filter out_64513 { if !wanted(64513) then reject; prepended(64513); scrubbed(); accept; }
filter out_64514 { if !wanted(64514) then reject; prepended(64514); scrubbed(); accept; }
filter out_64515 { if !wanted(64515) then reject; prepended(64515); scrubbed(); accept; }
protocol bgp c64513 from clients { neighbor 198.18.1.2 as 64513; ipv4 { import filter in_64513; export filter out_64513; }; }
protocol bgp c64514 from clients { neighbor 198.18.1.3 as 64514; ipv4 { import filter in_64514; export filter out_64514; }; }
protocol bgp c64515 from clients { neighbor 198.18.1.4 as 64515; ipv4 { import filter in_64515; export filter out_64515; }; }
protocol bgp collector from clients { neighbor 198.18.1.5 as 64516; ipv4 { import none; export all; }; }
"""

BIRD_RPKI = """log stderr all;
router id 192.0.2.1;
roa4 table r4;
protocol device { }
protocol rpki cache { roa4 { table r4; }; remote 127.0.0.1 port 3323; }
filter checked {
  if roa_check(r4, net, bgp_path.last) = ROA_INVALID then reject;
  if roa_check(r4, net, bgp_path.last) = ROA_VALID then bgp_local_pref = 150;
  else { bgp_local_pref = 90; bgp_large_community.add((64512, 2, 0)); }
  accept;
}
template bgp up { local as 64512; connect retry time 1; connect delay time 1; ipv4 { import filter checked; export none; }; }
protocol bgp u1 from up { neighbor 198.18.1.2 as 64513; }
protocol bgp u2 from up { neighbor 198.18.2.2 as 64514; }
protocol bgp u3 from up { neighbor 198.18.3.2 as 64515; }
protocol bgp inside { local 198.18.4.1 as 64512; neighbor 198.18.4.2 as 64512; ipv4 { import all; export where source = RTS_BGP; next hop self; }; }
"""
ROAS = (("203.0.1.0/24", 24, 64700), ("203.0.2.0/24", 24, 64700), ("203.3.1.0/24", 24, 64999), ("203.5.0.0/16", 20, 64706), ("203.9.0.0/16", 24, 64515))

BIRD_RTBH = """log stderr all;
router id 192.0.2.1;
define BLACKHOLE = (65535, 666);
define CUSTOMER1 = [ 203.0.1.0/24+, 203.2.1.0/24, 203.20.1.0/24+ ];
define CUSTOMER2 = [ 203.0.2.0/24{24,32}, 203.2.2.0/24, 203.5.0.0/16{16,24} ];
protocol device { }
filter from_c1 {
  if net !~ CUSTOMER1 then reject;
  if BLACKHOLE ~ bgp_community && net.len >= 29 then { bgp_community.add((65535, 65281)); bgp_local_pref = 500; accept; }
  if net.len > 24 then reject;
  bgp_community.add((64512, 3000));
  if (64512, 80) ~ bgp_community then bgp_local_pref = 80;
  else if (64512, 120) ~ bgp_community then bgp_local_pref = 120;
  accept;
}
filter from_c2 {
  if net !~ CUSTOMER2 then reject;
  if bgp_community ~ [(64514, *)] then bgp_local_pref = 60;
  bgp_community.empty;
  bgp_community.add((64512, 3000));
  bgp_med = 7;
  accept;
}
filter to_up {
  if (64512, 3000) !~ bgp_community then reject;
  if BLACKHOLE ~ bgp_community then reject;
  if (64512, 901) ~ bgp_community then bgp_path.prepend(64512);
  if (64512, 902) ~ bgp_community then { bgp_path.prepend(64512); bgp_path.prepend(64512); }
  bgp_community.delete([(64512, *)]);
  accept;
}
protocol bgp c1 { local as 64512; neighbor 198.18.1.2 as 64513; connect retry time 1; ipv4 { import filter from_c1; export all; }; }
protocol bgp c2 { local as 64512; neighbor 198.18.2.2 as 64514; connect retry time 1; ipv4 { import filter from_c2; export all; }; }
protocol bgp up { local as 64512; neighbor 198.18.3.2 as 64515; connect retry time 1; ipv4 { import none; export filter to_up; }; }
protocol bgp inside { local 198.18.4.1 as 64512; neighbor 198.18.4.2 as 64512; ipv4 { import all; export all; next hop self; }; }
"""

# Static routes: their gateways, and conditions on attributes that they do not have.
BIRD_STATIC = """log stderr all;
router id 192.0.2.1;
protocol device { }
protocol direct { ipv4; }
protocol static {
  ipv4;
  route 192.0.2.0/28 via 198.18.3.77;
  route 192.0.2.16/28 via 198.18.3.77 via 198.18.3.78;
  route 192.0.2.32/28 via 198.18.4.77;
  route 192.0.2.48/28 blackhole;
}
filter equal { if bgp_local_pref = 100 && bgp_origin = ORIGIN_IGP || net ~ [ 192.0.2.0/28 ] then accept; reject; }
filter different {
  if net ~ [ 192.0.2.0/28 ] then { if bgp_origin ~ [ ORIGIN_EGP ] then bgp_med = 1; bgp_med = 2; }
  if net ~ [ 192.0.2.16/28 ] && bgp_path.first = 0 then bgp_med = 4;
  if net ~ [ 192.0.2.32/28 ] then { if bgp_local_pref < 50 then bgp_med = 3; }
  case bgp_origin { ORIGIN_IGP: bgp_community.add((64512, 1)); else: bgp_community.add((64512, 2)); }
  if bgp_local_pref != 100 then bgp_community.add((64512, 3));
  accept;
}
protocol bgp u1 { local as 64512; neighbor 198.18.1.2 as 64513; connect retry time 1; ipv4 { import all; export filter equal; }; }
protocol bgp u2 { local as 64512; neighbor 198.18.2.2 as 64514; connect retry time 1; ipv4 { import all; export filter different; }; }
protocol bgp i1 { local 198.18.3.1 as 64512; neighbor 198.18.3.2 as 64512; connect retry time 1; ipv4 { import all; export all; }; }
protocol bgp i2 { local 198.18.4.1 as 64512; neighbor 198.18.4.2 as 64512; connect retry time 1; ipv4 { import all; export all; next hop self; }; }
"""

FRR_ROUTE_SERVER = """log stdout
bgp route-map delay-timer 0
ip prefix-list bogons seq 5 permit 10.0.0.0/8 le 32
ip prefix-list bogons seq 6 permit 203.0.0.0/16 ge 25
ip prefix-list bogons seq 7 permit 0.0.0.0/0
bgp large-community-list standard not-64513 permit 64512:0:64513
bgp large-community-list standard not-64514 permit 64512:0:64514
bgp large-community-list standard not-64515 permit 64512:0:64515
router bgp 64512
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
 neighbor 198.18.1.2 remote-as 64513
 neighbor 198.18.1.2 timers connect 1
 neighbor 198.18.1.3 remote-as 64514
 neighbor 198.18.1.3 timers connect 1
 neighbor 198.18.1.4 remote-as 64515
 neighbor 198.18.1.4 timers connect 1
 neighbor 198.18.1.5 remote-as 64516
 neighbor 198.18.1.5 timers connect 1
 address-family ipv4 unicast
  neighbor 198.18.1.2 activate
  neighbor 198.18.1.2 soft-reconfiguration inbound
  neighbor 198.18.1.2 route-server-client
  neighbor 198.18.1.2 route-map clients in
  neighbor 198.18.1.2 route-map to-64513 out
  neighbor 198.18.1.3 activate
  neighbor 198.18.1.3 soft-reconfiguration inbound
  neighbor 198.18.1.3 route-server-client
  neighbor 198.18.1.3 route-map clients in
  neighbor 198.18.1.3 route-map to-64514 out
  neighbor 198.18.1.4 activate
  neighbor 198.18.1.4 soft-reconfiguration inbound
  neighbor 198.18.1.4 route-server-client
  neighbor 198.18.1.4 route-map clients in
  neighbor 198.18.1.4 route-map to-64515 out
  neighbor 198.18.1.5 activate
  neighbor 198.18.1.5 route-server-client
  neighbor 198.18.1.5 route-map none in
  neighbor 198.18.1.5 route-map all out
 exit-address-family
exit
route-map clients deny 5
 match ip address prefix-list bogons
exit
route-map clients permit 10
exit
route-map to-64513 deny 5
 match large-community not-64513
exit
route-map to-64513 permit 10
exit
route-map to-64514 deny 5
 match large-community not-64514
exit
route-map to-64514 permit 10
exit
route-map to-64515 deny 5
 match large-community not-64515
exit
route-map to-64515 permit 10
exit
route-map none deny 10
exit
route-map all permit 10
exit
"""

# The router of FRR_EDGE in VRP's words, but for what VRP has no words for (large communities).
VRP_EDGE = """#
sysname edge
#
bgp 64512
 router-id 192.0.2.1
 group transit external
 peer transit timer keepalive 10 hold 30
 peer 198.18.1.2 as-number 64513
 peer 198.18.1.2 group transit
 peer 198.18.2.2 as-number 64514
 peer 198.18.2.2 group transit
 peer 198.18.3.2 as-number 64515
 peer 198.18.4.2 as-number 64512
 #
 ipv4-family unicast
  undo synchronization
  network 198.51.100.0 255.255.255.0
  network 198.51.101.0 255.255.255.0
  network 192.0.2.128 255.255.255.128
  peer transit enable
  peer transit keep-all-routes
  peer transit route-policy in import
  peer transit route-policy out export
  peer transit advertise-community
  peer 198.18.1.2 enable
  peer 198.18.1.2 group transit
  peer 198.18.2.2 enable
  peer 198.18.2.2 group transit
  peer 198.18.3.2 enable
  peer 198.18.3.2 route-policy all import
  peer 198.18.3.2 route-policy customer export
  peer 198.18.3.2 advertise-community
  peer 198.18.4.2 enable
  peer 198.18.4.2 next-hop-local
  peer 198.18.4.2 advertise-community
#
route-policy in deny node 5
 if-match ip-prefix bogons
#
route-policy in deny node 6
 if-match as-path-filter odd
#
route-policy in deny node 7
 if-match as-path-filter long
#
route-policy in permit node 10
 if-match community-filter cust
 apply local-preference 120
 apply community 64512:7 additive
#
route-policy in permit node 30
#
route-policy out permit node 10
 if-match ip-prefix ours
 apply as-path 64512 64512 additive
 apply community 64512:50
 apply cost 5
#
route-policy all permit node 10
#
route-policy customer permit node 10
 apply community 64512:22 additive
#
ip ip-prefix ours index 10 permit 198.51.100.0 24
ip ip-prefix ours index 20 permit 198.51.101.0 24
ip ip-prefix bogons index 5 permit 10.0.0.0 8 greater-equal 8 less-equal 32
ip ip-prefix bogons index 6 permit 203.0.0.0 16 greater-equal 25 less-equal 32
ip ip-prefix bogons index 7 permit 0.0.0.0 0
ip as-path-filter odd permit _65000_
ip as-path-filter long permit _64704_64704_
ip community-filter basic cust permit 64512:100
#
return
"""
FRR_AS_VRP_EDGE = FRR_EDGE
for _old, _new in (("bgp large-community-list standard mark permit 64512:1:9\n", ""), (" set large-community 64512:2:2 additive", " set community 64512:22 additive"),
                   ("route-map in permit 20\n match large-community mark\n set local-preference 80\n set origin egp\nexit\n", "")):
    if FRR_AS_VRP_EDGE.count(_old) != 1:
        raise ValueError("FRR_EDGE has no %r" % _old)
    FRR_AS_VRP_EDGE = FRR_AS_VRP_EDGE.replace(_old, _new)

VRP_REFLECTOR = """#
sysname reflector
#
bgp 64512
 router-id 192.0.2.1
 peer 198.18.1.2 as-number 64512
 peer 198.18.2.2 as-number 64512
 peer 198.18.3.2 as-number 64512
 peer 198.18.4.2 as-number 64516
 #
 ipv4-family unicast
  undo synchronization
  reflector cluster-id 192.0.2.99
  peer 198.18.1.2 enable
  peer 198.18.1.2 reflect-client
  peer 198.18.1.2 advertise-community
  peer 198.18.2.2 enable
  peer 198.18.2.2 reflect-client
  peer 198.18.2.2 advertise-community
  peer 198.18.3.2 enable
  peer 198.18.3.2 advertise-community
  peer 198.18.4.2 enable
  peer 198.18.4.2 advertise-community
#
return
"""
FRR_AS_VRP_REFLECTOR = FRR_REFLECTOR.replace("  neighbor 198.18.4.2 attribute-unchanged next-hop\n", "")


# An edge as people write it: filters of the peer group, lists without numbers, jumps, a call, communities that are removed by expanded lists.
FRR_JUMPS = """log stdout
bgp route-map delay-timer 0
ip prefix-list bogons description not from us
ip prefix-list bogons permit 10.0.0.0/8 le 32
ip prefix-list bogons permit 203.6.0.0/16 ge 24
ip prefix-list lengths permit 0.0.0.0/0 ge 8 le 24
ip prefix-list lengths deny any
ip prefix-list tagged seq 10 permit 203.3.0.0/16 le 24
ip prefix-list tagged seq 5 permit 203.2.0.0/16 le 24
ip prefix-list few permit 203.5.0.0/16
bgp as-path access-list good deny _65000_
bgp as-path access-list good permit .*
bgp as-path access-list long permit _64704 64704_
bgp community-list standard cust permit 64512:100
bgp community-list standard seen permit 64512:1
bgp community-list expanded own permit ^64512:.*
bgp large-community-list expanded marked permit _64512:[0-9]+:[0-9]+_
router bgp 64512
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor UP peer-group
 neighbor UP timers connect 1
 neighbor 198.18.1.2 remote-as 64513
 neighbor 198.18.1.2 peer-group UP
 neighbor 198.18.2.2 remote-as 64514
 neighbor 198.18.2.2 peer-group UP
 neighbor 198.18.3.2 remote-as 64515
 neighbor 198.18.3.2 timers connect 1
 neighbor 198.18.4.2 remote-as internal
 neighbor 198.18.4.2 timers connect 1
 address-family ipv4 unicast
  network 198.51.101.0/24
  neighbor UP prefix-list lengths in
  neighbor UP filter-list good in
  neighbor UP route-map up in
  neighbor UP filter-list own out
  neighbor 198.18.2.2 route-map other in
  neighbor 198.18.3.2 route-map falls in
  neighbor 198.18.3.2 route-map customer out
  neighbor 198.18.4.2 next-hop-self
 exit-address-family
bgp as-path access-list own permit ^$
route-map up permit 10
 match community cust
 set local-preference 120
 on-match next
route-map up permit 20
 match large-community marked
 set metric +7
 continue 40
route-map up deny 30
 match as-path long
route-map up deny 40
 match ip address prefix-list bogons
route-map up permit 50
 call tag
route-map other deny 10
 match ip address prefix-list bogons
route-map other permit 20
route-map tag permit 10
 match ip address prefix-list tagged
 set comm-list own delete
 set community 64512:1000 additive
 set large-comm-list marked delete
route-map tag permit 20
route-map falls permit 10
 match community seen
 set origin egp
 on-match next
route-map falls permit 20
 match ip address prefix-list few
 set as-path prepend last-as 2
route-map customer permit 10
 match ip address prefix-list few
 set metric -3
 on-match next
route-map customer permit 20
 set large-community 64512:2:2 additive
"""


def bird_generated(clients):
    """A route server as arouteserver writes it."""
    out = """log stderr all;
router id 192.0.2.1;
define rs_as = 64512;
ipv4 table master4 sorted;
protocol device { }
function prefix_is_bogon()
prefix set bogons_4;
{
	bogons_4 = [
		0.0.0.0/0,
		10.0.0.0/8{8,32},
		203.0.0.0/16{25,32}
	];
	if net.type = NET_IP4 then
		if net ~ bogons_4 then return true;
	return false;
}
function prefix_len_is_valid (int pref_len_min; int pref_len_max)
{
	if net.len < pref_len_min then return false;
	if net.len > pref_len_max then return false;
	return true;
}
function as_path_contains_invalid_asn()
int set invalid_asns;
{
	invalid_asns = [
		0, # AS 0
		23456,
		65000..65010,
		4200000000..4294967295
	];
	if (bgp_path ~ invalid_asns) then return true;
	return false;
}
function scrub_communities_in() {
	bgp_large_community.delete([(rs_as, 1000..2000, *)]);
	bgp_community.delete([(rs_as, *)]);
}
function honor_graceful_shutdown() {
	if (65535, 0) ~ bgp_community then
		bgp_local_pref = 0;
}
function scrub_communities_out() {
	bgp_community.delete([(0, *)]);
	bgp_large_community.delete([(rs_as, *, *)]);
}
function announce_to_peer(int peer_as) {
	if (rs_as, 1, peer_as) ~ bgp_large_community then return true;
	if (0, peer_as) ~ bgp_community || (rs_as, 0, peer_as) ~ bgp_large_community then return false;
	if (rs_as, 0, 0) ~ bgp_large_community then return false;
	return true;
}
function apply_prepend(int peer_as) {
	if (rs_as, 101, peer_as) ~ bgp_large_community then {
		bgp_path.prepend(bgp_path.first);
	} else if (rs_as, 102, peer_as) ~ bgp_large_community then {
		bgp_path.prepend(bgp_path.first);
		bgp_path.prepend(bgp_path.first);
	}
}
"""
    for n, asn in clients:
        out += """filter receive_from_AS%(asn)d_1
{
	if !(source = RTS_BGP ) then
		reject "source != RTS_BGP - REJECTING ", net;
	scrub_communities_in();
	if bgp_path.len > 6 then
		reject "AS_PATH len [", bgp_path.len ,"] longer than 6 - REJECTING ", net;
	if (bgp_path.first != %(asn)d) then
		reject "invalid left-most ASN [", bgp_path.first, "] - REJECTING ", net;
	if as_path_contains_invalid_asn() then
		reject "AS_PATH [", bgp_path ,"] contains invalid ASN - REJECTING ", net;
	if ! prefix_len_is_valid(8, 24) then
		reject "prefix len [", net.len, "] not in 8-24 - REJECTING ", net;
	if prefix_is_bogon() then
		reject "prefix is bogon - REJECTING ", net;
	honor_graceful_shutdown();
	accept;
}
filter announce_to_AS%(asn)d_1
{
	if source = RTS_BGP then {
		if announce_to_peer(%(asn)d) then {
			apply_prepend(%(asn)d);
			scrub_communities_out();
			accept;
		}
	}
	reject;
}
protocol bgp AS%(asn)d_1 {
	description "Client AS%(asn)d";
	local 198.18.1.1 as 64512;
	neighbor %(address)s as %(asn)d;
	rs client;
	connect retry time 1; connect delay time 1; error wait time 1, 2;
	passive off;
	ttl security off;
	ipv4 {
		table master4;
		import table off;
		import keep filtered on;
		import limit 500 action restart;
		next hop keep;
		import filter receive_from_AS%(asn)d_1;
		export filter announce_to_AS%(asn)d_1;
	};
}
""" % {"asn": asn, "address": on_lan(n)}
    return out


def internal(net, path, **more):
    """Routes of an internal neighbour."""
    return {
        "203.10.%d.0/24" % net: route(path, local_pref=100, **more),
        "203.11.0.0/16": route(path + " 64720", local_pref=100 + net),
        "203.12.%d.0/24" % net: route(path + " 64721 64722 64723", local_pref=100, communities=["64512:1", "64721:7"]),
    }


EDGE = {1: (64513, offers(64513, 1)), 2: (64514, offers(64514, 2)),
        3: (64515, {"203.9.1.0/24": route("64515"), "203.9.0.0/16": route("64515 64710"), "192.0.9.0/24": route("64515")}),
        4: (64512, internal(4, "64711", med=9))}
REFLECTOR = {1: (64512, internal(1, "64711")), 2: (64512, internal(2, "64712", med=4)), 3: (64512, internal(3, "64713", large_communities=["64512:9:9"])),
             4: (64516, {"203.13.0.0/24": route("64516", med=3), "203.11.0.0/16": route("64516")})}


def client(asn, net):
    """Routes of a client of a route server, with the communities by which clients steer it (Euro-IX)."""
    return dict(offers(asn, net), **{
        "203.20.%d.0/24" % net: route("%d" % asn, large_communities=["64512:0:64514"], med=3),
        "203.21.%d.0/24" % net: route("%d 64730" % asn, large_communities=["64512:0:0", "64512:1:64515"]),
        "203.22.%d.0/24" % net: route("%d 64731" % asn, large_communities=["64512:101:64513", "64700:1:1"]),
        "203.23.%d.0/24" % net: route("%d 64732" % asn, communities=["0:64513", "64732:5"])})


def customer(asn, net):
    """Routes of a customer who asks for black holes, local preference and prepending by communities."""
    return dict(offers(asn, net), **{
        "203.0.%d.128/29" % net: route("%d" % asn, communities=["65535:666"]),
        "203.0.%d.64/26" % net: route("%d" % asn, communities=["65535:666"]),
        "203.20.%d.0/24" % net: route("%d" % asn, communities=["64512:80", "64512:902", "%d:1" % asn])})


CLIENTS = {1: (64513, client(64513, 1)), 2: (64514, client(64514, 2)), 3: (64515, client(64515, 3)), 4: (64516, {})}
RTBH = {1: (64513, customer(64513, 1)), 2: (64514, customer(64514, 2)), 3: (64515, {}), 4: (64512, internal(4, "64711", communities=["64512:3000", "64512:901"]))}
JUMPS = {**EDGE, 3: (64515, dict(offers(64515, 3), **{"203.5.0.0/16": route("64515", med=9, communities=["64512:1"])}))}
GENERATED = {n: (asn, dict(routes, **{"203.24.%d.0/24" % n: route("%d" % asn, communities=["65535:0", "64512:9"], large_communities=["64512:102:64514"])}))
             for n, (asn, routes) in CLIENTS.items() if n < 4}
Shape = collections.namedtuple("Shape", "dialect text neighbours counts missing other lan roas six", defaults=([], None, False, (), False))
# `neighbours`: {link: (AS number, routes)}; `counts`: of the routes that each link gets; `missing`: beginnings of the lines that are not carried;
# `other`: (dialect, text) of the daemon that says what is right, where no daemon of the dialect is at hand; `lan`: all are on one subnet; `six`: sessions and routes of IPv6
SHAPES = {
    "bird edge": Shape("bird", BIRD_EDGE, EDGE, (2, 2, 10, 9)),
    "bird reflector": Shape("bird", BIRD_REFLECTOR, REFLECTOR, (8, 8, 8, 10)),
    "bird route server": Shape("bird", BIRD_ROUTE_SERVER, CLIENTS, (11, 11, 16, 23), lan=True),
    "bird rpki": Shape("bird", BIRD_RPKI, EDGE, (0, 0, 0, 16), roas=ROAS),
    "bird black holes": Shape("bird", BIRD_RTBH, RTBH, (9, 6, 10, 10)),
    "bird static routes": Shape("bird", BIRD_STATIC, {**EDGE, 3: (64512, {})}, (9, 19, 25, 25)),
    "frr edge": Shape("frr", FRR_EDGE, EDGE, (2, 2, 13, 13)),
    "frr reflector": Shape("frr", FRR_REFLECTOR, REFLECTOR, (6, 6, 5, 7)),
    "frr route server": Shape("frr", FRR_ROUTE_SERVER, CLIENTS, (19, 17, 20, 29), lan=True),
    "frr jumps": Shape("frr", FRR_JUMPS, JUMPS, (1, 1, 13, 10)),
    "bird generated": Shape("bird", bird_generated([(n, asn) for n, (asn, _) in GENERATED.items()]), GENERATED, (13, 13, 18), lan=True),
    "bird edge of IPv6": Shape("bird", six(BIRD_EDGE), EDGE, (2, 2, 10, 9), six=True),
    "bird reflector of IPv6": Shape("bird", six(BIRD_REFLECTOR), REFLECTOR, (8, 8, 8, 10), six=True),
    "frr edge of IPv6": Shape("frr", six(FRR_EDGE), EDGE, (2, 2, 13, 13), six=True),
    "frr reflector of IPv6": Shape("frr", six(FRR_REFLECTOR.replace(FRR_CLIENTS, FRR_CLIENTS + FRR_ACTIVE)), REFLECTOR, (6, 6, 5, 7), six=True),
    "vrp edge": Shape("vrp", VRP_EDGE, EDGE, (2, 2, 13, 13), other=("frr", FRR_AS_VRP_EDGE)),
    "vrp reflector": Shape("vrp", VRP_REFLECTOR, REFLECTOR, (6, 6, 5, 7), other=("frr", FRR_AS_VRP_REFLECTOR)),
}
SORTED = ("communities", "large_communities", "ext_communities")


class GivenFrr(daemons.Frr):
    """bgpd with a given file."""

    def config(self):
        return self.text


def shown(s):
    """What a speaker has got. The order of communities has no meaning, and MED 0, which bgpd adds, is as good as none (RFC 4271 9.1.2.2). bgpd sends
    routes back to their sender, who drops them as loops. A link-local next hop beside the global one is no question of the configuration: BIRD omits
    it to internal neighbours."""
    def loop(r):
        return r.get("originator_id") == s.identifier or str(s.asn) in r["as_path"].split()
    return {p: {k: sorted(v) if k in SORTED else v for k, v in r.items() if (k, v) != ("med", 0) and k != "next_hop_link_local"} for p, r in dict(s.rib).items() if not loop(r)}


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        for h in ("rt", "sp"):
            self.lab.host(h, ipv6=True)
        for n in range(1, LINKS + 1):
            self.lab.link("rt", "up%d" % n, us(n) + "/24", "sp", "in%d" % n, them(n) + "/24")
            for host, device, address in (("rt", "up%d" % n, us(n)), ("sp", "in%d" % n, them(n))):
                self.lab.sh(host, "ip address add %s/64 dev %s nodad" % (six_address(address), device))
        for n in range(2, LINKS + 1):
            self.lab.sh("sp", "ip address add %s/24 dev in1" % on_lan(n))

    def speakers(self, shape):
        out = {}
        for n, (asn, routes) in shape.neighbours.items():
            mine, router = on_lan(n) if shape.lan else them(n), us(1 if shape.lan else n)
            identifier, family = mine, V4
            if shape.six:
                mine, router, family = six_address(mine), six_address(router), V6
            s = out[n] = Speaker(self.lab.netns("sp"), mine, router, asn, families=(family,), identifier=identifier).up()
            for prefix, r in routes.items():
                s.send(UPDATE, announce(r, six_prefix(prefix) if shape.six else prefix, mine))
        return out

    def cache(self, roas):
        """A cache with these records (prefix, maximum length, AS number), at port 3323."""
        path = self.lab.write("roas.json", json.dumps({"roas": [{"prefix": p, "maxLength": n, "asn": "AS%d" % a, "ta": "test"} for p, n, a in roas]}))
        cache = self.lab.spawn("stayrtr", "rt", ["stayrtr", "-cache", path, "-bind", "127.0.0.1:3323", "-checktime=false", "-metrics.addr", "",
                                             "-protocol", "2"])  # 0.6.2 has 1, and hangs up on BIRD 2.17
        wait_for("the cache", lambda: "Server started" in cache.logged(), 30)
        return cache

    def other(self, shape):
        """Starts the other daemon; a function that ends it."""
        dialect, text = shape.other or (shape.dialect, shape.text)
        if dialect == "bird":
            process, birdc = self.lab.bird("rt", text, name="bird-%d" % len(text))
            if shape.roas:
                wait_for("BIRD's records", lambda: "%d of %d routes" % (len(shape.roas), len(shape.roas)) in birdc("show", "route", "table", "r4", "count"), 60)
            return process.stop
        d = GivenFrr(self.lab, "rt")
        d.text = text
        d.run(False)

        def stop():
            d.process.stop()
            d.zebra.stop()
        return stop

    def imported(self, name, dialect, text, missing):
        path = self.lab.write("imported.conf", text)
        p = subprocess.run([KEELCTL, "import", dialect, path], capture_output=True, text=True, timeout=60)
        lines = [line.split(": ", 1)[1].strip() for line in p.stderr.splitlines() if ": not carried: " in line]
        self.c.equal(name + ": lines that are not carried", [next((m for m in missing if line.startswith(m)), line) for line in lines], missing)
        self.c.equal(name + ": exit status", p.returncode, 1 if missing else 0)
        return json.loads(p.stdout)

    def run(self, name):
        shape = SHAPES[name]
        document = self.imported(name, shape.dialect, shape.text, shape.missing)
        cache = self.cache(shape.roas) if shape.roas else None
        stop = self.other(shape)
        speakers = self.speakers(shape)
        self.c.comes_to(name + ": each neighbour gets this count of routes from the other daemon", lambda: tuple(len(shown(s)) for s in speakers.values()), shape.counts)
        want = at_rest(lambda: {n: shown(s) for n, s in speakers.items()})
        for s in speakers.values():
            s.close()
        stop()
        keeld, rpc = self.lab.keeld("rt", document, KEELD, name="keeld-" + name.replace(" ", "-"), args=("--no-dataplane",))
        if shape.roas:
            wait_for("keeld's records", lambda: rpc.call("rpki.summary")["vrps"]["ipv4"] == len(shape.roas), 60)
        speakers = self.speakers(shape)
        for n, s in speakers.items():
            self.c.eventually("%s: neighbour %d (AS %d) gets the same %d routes" % (name, n, s.asn, len(want[n])), lambda n=n, s=s: self.same(want[n], shown(s)))
        at_rest(lambda: {n: shown(s) for n, s in speakers.items()})
        self.c.equal(name + ": nothing else comes", {n: shown(s) for n, s in speakers.items()} == want, True)
        for s in speakers.values():
            s.close()
        rpc.close()
        keeld.stop()
        if cache:
            cache.stop()

    @staticmethod
    def same(want, seen):
        return want == seen, "\n" + "\n".join("%s: other %s, keeld %s" % (p, want.get(p), seen.get(p)) for p in sorted({*want, *seen}) if want.get(p) != seen.get(p))


def test(c):
    need("bird", "stayrtr", files=(KEELD, KEELCTL))
    for f in daemons.Frr.programs:
        if not os.path.exists(f):
            labtest.skip("FRR is not installed")
    names = sys.argv[1:] or list(SHAPES)
    with Lab(out_folder(NAME)) as lab:
        t = Test(c, lab)
        t.build()
        for name in names:
            t.run(name)


if __name__ == "__main__":
    sys.exit(labtest.main(test))
