#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl import: for several shapes of configurations the other daemon runs first, and its peers record what it announces, attribute by
attribute; then keeld runs with the imported document, and its peers must get the same. Lines that are not carried are exactly those listed here.

    sp (scripted speakers, 198.18.N.2, AS of the shape) --- rt (198.18.N.1: BIRD or bgpd, then keeld)
"""
import json
import os
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


def us(n, v6=False):
    return "2001:db8:%d::1" % n if v6 else "198.18.%d.1" % n


def them(n, v6=False):
    return "2001:db8:%d::2" % n if v6 else "198.18.%d.2" % n


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
# name: (dialect, file, {link: (AS number, routes)}, count of routes that each link gets, beginnings of the lines that are not carried)
SHAPES = {
    "bird edge": ("bird", BIRD_EDGE, EDGE, (2, 2, 10, 9), []),
    "bird reflector": ("bird", BIRD_REFLECTOR, REFLECTOR, (8, 8, 8, 10), []),
    "frr edge": ("frr", FRR_EDGE, EDGE, (2, 2, 13, 13), []),
    "frr reflector": ("frr", FRR_REFLECTOR, REFLECTOR, (6, 6, 5, 7), []),
}
SORTED = ("communities", "large_communities", "ext_communities")


class GivenFrr(daemons.Frr):
    """bgpd with a given file."""

    def config(self):
        return self.text


def shown(s):
    """What a speaker has got. The order of communities has no meaning, and MED 0, which bgpd adds, is as good as none (RFC 4271 9.1.2.2). bgpd sends
    routes back to their sender, who drops them as loops."""
    def loop(r):
        return r.get("originator_id") == s.source or str(s.asn) in r["as_path"].split()
    return {p: {k: sorted(v) if k in SORTED else v for k, v in r.items() if (k, v) != ("med", 0)} for p, r in dict(s.rib).items() if not loop(r)}


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        for h in ("rt", "sp"):
            self.lab.host(h)
        for n in range(1, LINKS + 1):
            self.lab.link("rt", "up%d" % n, us(n) + "/24", "sp", "in%d" % n, them(n) + "/24")

    def speakers(self, shape):
        out = {}
        for n, (asn, routes) in shape.items():
            s = out[n] = Speaker(self.lab.netns("sp"), them(n), us(n), asn).up()
            for prefix, r in routes.items():
                s.send(UPDATE, announce(r, prefix, them(n)))
        return out

    def other(self, dialect, text):
        """Starts the other daemon; a function that ends it."""
        if dialect == "bird":
            process, _ = self.lab.bird("rt", text, name="bird-%d" % len(text))
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
        dialect, text, shape, counts, missing = SHAPES[name]
        document = self.imported(name, dialect, text, missing)
        stop = self.other(dialect, text)
        speakers = self.speakers(shape)
        self.c.comes_to(name + ": each neighbour gets this count of routes from the other daemon", lambda: tuple(len(shown(s)) for s in speakers.values()), counts)
        want = at_rest(lambda: {n: shown(s) for n, s in speakers.items()})
        for s in speakers.values():
            s.close()
        stop()
        keeld, rpc = self.lab.keeld("rt", document, KEELD, name="keeld-" + name.replace(" ", "-"), args=("--no-dataplane",))
        speakers = self.speakers(shape)
        for n, s in speakers.items():
            self.c.eventually("%s: neighbour %d (AS %d) gets the same %d routes" % (name, n, s.asn, len(want[n])), lambda n=n, s=s: self.same(want[n], shown(s)))
        at_rest(lambda: {n: shown(s) for n, s in speakers.items()})
        self.c.equal(name + ": nothing else comes", {n: shown(s) for n, s in speakers.items()} == want, True)
        for s in speakers.values():
            s.close()
        rpc.close()
        keeld.stop()

    @staticmethod
    def same(want, seen):
        return want == seen, "\n" + "\n".join("%s: other %s, keeld %s" % (p, want.get(p), seen.get(p)) for p in sorted({*want, *seen}) if want.get(p) != seen.get(p))


def test(c):
    need("bird", files=(KEELD, KEELCTL))
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
