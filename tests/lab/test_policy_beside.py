#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Policies as text beside BIRD filters and FRR route maps: the same routes, the same verdicts, the same attributes.

    sp (a speaker for each policy, AS 3320; a collector inside AS 64512; two route server clients) --- keel, bird, frr (AS 64512)

The policies: RFC 7454 hygiene, Euro-IX large communities of a route server with prepending, RTBH with discard, scrub and tag, LOCAL_PREF and
prepending by community, MED, a set of 10,000 AS numbers, a long list of prefixes, origin validation (not FRR: bgpd's RPKI module takes records from
a cache only, and is a package of its own; static records stand for the cache in BIRD), roles (RFC 9234: a key of the session).

Next hops are not compared: `discard` is a next hop of ours in Keel and BIRD, and in bgpd an unused address of the link stands for a blackhole route.
KEEL_ROUTES: routes of all policies (2,000); with 100,000 the list has 500,000 prefixes, not 5,000. The lab prints the lines of each policy and what
a route costs each daemon above a session that accepts all. That includes what follows a verdict: it is below 0 where refused routes, or a daemon that
is warm, save more than the policy costs."""
import functools
import ipaddress
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import daemons
import labtest
from labtest import KEELD, UPDATE, V4, Lab, Speaker, in_netns, need, out_folder, skip, wait_established, wait_for
from wire import announce

NAME = "policy_beside"
ROUTES = int(os.environ.get("KEEL_ROUTES", "2000"))
MANY = 500000 if ROUTES >= 100000 else 5000
CHECKED = 500000
OWN, SENDER, CLIENTS = 64512, 3320, (64701, 64702)
RS_CLIENTS = 500  # for the count of lines
BAD = [100003 + 7 * k for k in range(10000)]
PREFIXES = ["%d.%d.%d.0/24" % (76 + (k >> 16), k >> 8 & 255, k & 255) for k in range(MANY)]
# bgpd needs minutes for 5,000 lines of a prefix list: its list has the prefixes as few lines with lengths.
LISTED = list(ipaddress.summarize_address_range(ipaddress.ip_address(PREFIXES[0][:-3]), ipaddress.ip_address(PREFIXES[-1][:-3]) + 255))
ROA = [("84.%d.0.0/16" % k, 20, SENDER if k % 3 else 64999) for k in range(0, 256, 2)]


def wrapped(elements, between=",\n", a_line=8):
    elements = list(map(str, elements))
    return between.join(", ".join(elements[k:k + a_line]) for k in range(0, len(elements), a_line))


BOGONS = "[0.0.0.0/8+, 10.0.0.0/8+, 100.64.0.0/10+, 127.0.0.0/8+, 169.254.0.0/16+, 172.16.0.0/12+, 192.0.2.0/24+, 192.168.0.0/16+, 198.18.0.0/15+]"
BOGON_ASNS = "[0, 23456, 64496..64511, 64512..65534, 65536..65551, 4200000000..4294967295]"
BOGON_REGEX = ["_0_", "_23456_", "_(6449[6-9]|6450[0-9]|6451[01])_", "_(6451[2-9]|645[2-9][0-9]|64[6-9][0-9][0-9]|65[0-4][0-9][0-9]|655[0-2][0-9]|6553[0-4])_",
               "_(6553[6-9]|6554[0-9]|6555[01])_", "_42[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]_", "^([0-9]+ ){50,}[0-9]+$"]

# name: (Keel, BIRD, FRR or None); the policy has the name. `rs` is for exports, `roles` is a key of the session.
POLICIES = {
    "hygiene": ("""define bogons = %s;
define bogon_asns = %s;
policy hygiene {
  if net ~ bogons or net.len > 24 or net.len < 8 then reject;
  if path ~ bogon_asns or path.len > 50 or first_as != 3320 then reject;
  accept;
}
""" % (BOGONS, BOGON_ASNS), """define bogons = %s;
define bogon_asns = %s;
filter hygiene {
  if net ~ bogons || net.len > 24 || net.len < 8 then reject;
  if bgp_path ~ bogon_asns || bgp_path.len > 50 || bgp_path.first != 3320 then reject;
  accept;
}
""" % (BOGONS, BOGON_ASNS), "".join("ip prefix-list bogons permit %s\n" % p for p in (
        [p[:-1] + " le 32" for p in BOGONS[1:-1].split(", ")] + ["0.0.0.0/0 ge 25", "0.0.0.0/0 le 7"])) + "".join(
            "bgp as-path access-list bogons permit %s\n" % r for r in BOGON_REGEX) + """bgp as-path access-list ours permit ^3320_
route-map hygiene deny 10
 match ip address prefix-list bogons
route-map hygiene deny 20
 match as-path bogons
route-map hygiene permit 30
 match as-path ours
"""),
    "rs": ("""policy rs {
  if large_communities ~ (64512, 0, peer.asn) then reject;
  if large_communities ~ (64512, 0, 0) and not large_communities ~ (64512, 1, peer.asn) then reject;
  if large_communities ~ (64512, 101, peer.asn) then prepend(first, 1);
  if large_communities ~ (64512, 102, peer.asn) then prepend(first, 2);
  if large_communities ~ (64512, 103, peer.asn) then prepend(first, 3);
  delete (64512, *, *);
  accept;
}
""", """function to_client(int who) {
  if (64512, 0, who) ~ bgp_large_community then return false;
  if (64512, 0, 0) ~ bgp_large_community && !((64512, 1, who) ~ bgp_large_community) then return false;
  if (64512, 101, who) ~ bgp_large_community then { bgp_path.prepend(bgp_path.first); }
  if (64512, 102, who) ~ bgp_large_community then { bgp_path.prepend(bgp_path.first); bgp_path.prepend(bgp_path.first); }
  if (64512, 103, who) ~ bgp_large_community then { bgp_path.prepend(bgp_path.first); bgp_path.prepend(bgp_path.first); bgp_path.prepend(bgp_path.first); }
  bgp_large_community.delete([(64512, *, *)]);
  return true;
}
""", """bgp large-community-list expanded rs-all permit ^64512:
bgp large-community-list standard rs-none permit 64512:0:0
"""),
    "rtbh": ("""define customer = [36.0.0.0/9{32,32}];
policy rtbh {
  if communities ~ blackhole then {
    if net ~ customer then { local_pref = 200; add no-export; next_hop = discard; accept; }
    reject;
  }
  if net.len > 24 then reject;
  accept;
}
""", """define customer = [36.0.0.0/9{32,32}];
filter rtbh {
  if (65535, 666) ~ bgp_community then {
    if net ~ customer then { bgp_local_pref = 200; bgp_community.add((65535, 65281)); dest = RTD_BLACKHOLE; accept; }
    reject;
  }
  if net.len > 24 then reject;
  accept;
}
""", """bgp community-list standard hole permit 65535:666
ip prefix-list customer permit 36.0.0.0/9 ge 32
ip prefix-list long permit 0.0.0.0/0 ge 25
route-map rtbh permit 10
 match community hole
 match ip address prefix-list customer
 set local-preference 200
 set community no-export additive
 set ip next-hop 198.18.3.66
route-map rtbh deny 20
 match community hole
route-map rtbh deny 30
 match ip address prefix-list long
route-map rtbh permit 40
"""),
    "scrub": ("""policy scrub {
  delete (64512, *);
  delete (64512, *, *);
  add (64512, 1000);
  add (64512, 1, 3320);
  accept;
}
""", """filter scrub {
  bgp_community.delete([(64512, *)]);
  bgp_large_community.delete([(64512, *, *)]);
  bgp_community.add((64512, 1000));
  bgp_large_community.add((64512, 1, 3320));
  accept;
}
""", """bgp community-list expanded ours permit ^64512:
bgp large-community-list expanded ours permit ^64512:
route-map scrub permit 10
 set comm-list ours delete
 set large-comm-list ours delete
 on-match next
route-map scrub permit 20
 set community 64512:1000 additive
 set large-community 64512:1:3320 additive
"""),
    "prefs": ("""policy prefs {
  if communities ~ (64512, 80) then local_pref = 80;
  else if communities ~ (64512, 120) then local_pref = 120;
  if communities ~ (64512, 3001) then prepend(first, 1);
  if communities ~ (64512, 3002) then prepend(first, 2);
  accept;
}
""", """filter prefs {
  if (64512, 80) ~ bgp_community then bgp_local_pref = 80;
  else if (64512, 120) ~ bgp_community then bgp_local_pref = 120;
  if (64512, 3001) ~ bgp_community then bgp_path.prepend(bgp_path.first);
  if (64512, 3002) ~ bgp_community then { bgp_path.prepend(bgp_path.first); bgp_path.prepend(bgp_path.first); }
  accept;
}
""", """bgp community-list standard low permit 64512:80
bgp community-list standard high permit 64512:120
bgp community-list standard once permit 64512:3001
bgp community-list standard twice permit 64512:3002
route-map prefs permit 10
 match community low
 set local-preference 80
 on-match goto 30
route-map prefs permit 20
 match community high
 set local-preference 120
 on-match next
route-map prefs permit 30
 match community once
 set as-path prepend last-as 1
 on-match next
route-map prefs permit 40
 match community twice
 set as-path prepend last-as 2
 on-match next
route-map prefs permit 50
"""),
    "meds": ("""policy meds {
  if communities ~ (64512, 9) then med = 500;
  else med += 10;
  if origin = incomplete then med += 100;
  accept;
}
""", """filter meds {
  if !defined(bgp_med) then bgp_med = 0;
  if (64512, 9) ~ bgp_community then bgp_med = 500;
  else bgp_med = bgp_med + 10;
  if bgp_origin = ORIGIN_INCOMPLETE then bgp_med = bgp_med + 100;
  accept;
}
""", """bgp community-list standard nine permit 64512:9
route-map meds permit 10
 match community nine
 set metric 500
 on-match goto 30
route-map meds permit 20
 set metric +10
 on-match next
route-map meds permit 30
 match origin incomplete
 set metric +100
 on-match next
route-map meds permit 40
"""),
    "asset": ("""define bad = [
%s];
policy asset {
  if path ~ bad then reject;
  accept;
}
""" % wrapped(BAD), """define bad = [
%s];
filter asset {
  if bgp_path ~ bad then reject;
  accept;
}
""" % wrapped(BAD), "".join("bgp as-path access-list bad permit _(%s)_\n" % "|".join(map(str, BAD[k:k + 10])) for k in range(0, len(BAD), 10)) + """route-map asset deny 10
 match as-path bad
route-map asset permit 20
"""),
    "listed": ("""define many = [
%s];
policy listed {
  if net ~ many then { add (64512, 2000); accept; }
  reject;
}
""" % wrapped(PREFIXES), """define many = [
%s];
filter listed {
  if net ~ many then { bgp_community.add((64512, 2000)); accept; }
  reject;
}
""" % wrapped(PREFIXES), "".join("ip prefix-list many permit %s%s\n" % (p, " ge 24 le 24" if p.prefixlen < 24 else "") for p in LISTED) + """route-map listed permit 10
 match ip address prefix-list many
 set community 64512:2000 additive
"""),
    "origins": ("""policy origins {
  if validation = invalid then reject;
  if validation = valid then local_pref = 120;
  accept;
}
""", """filter origins {
  if roa_check(roas, net, bgp_path.last) = ROA_INVALID then reject;
  if roa_check(roas, net, bgp_path.last) = ROA_VALID then bgp_local_pref = 120;
  accept;
}
""", None),
    "roles": ("", "", ""),
}
NAMES = list(POLICIES)
PLAIN = len(NAMES)  # a session that accepts all
EACH = ROUTES // len(NAMES)


def base(i):
    return 20 + 8 * i


@functools.lru_cache(None)
def offers(i):
    """The routes for policy i; the last one is accepted by every policy."""
    name, r = (NAMES + ["plain"])[i], random.Random(i)
    out = {}
    for k in range(EACH - 1):
        # half of the range is in `customer`; a long list has every other prefix that is announced
        address = (base(i) << 24) + ((k * 2 if name == "listed" else k) % 65536 << 8) + ((k & 1) << 23 if name == "rtbh" else 0)
        length = r.choice((24, 24, 24, 24, 25, 28, 32)) if name in ("hygiene", "rtbh") else 24
        if name == "origins":
            address, length = (base(i) << 24) + (k % 256 << 16) + (k >> 8 << 12), r.choice((20, 20, 24))
        if name == "listed" and k % 2:
            address, length = address + 128, 25
        prefix = str(ipaddress.ip_network((address, length), strict=False))
        if name == "hygiene" and r.random() < 0.2:
            prefix = str(ipaddress.ip_network((r.choice((10 << 24, 0xac100000, 0xc0a80000, 0x64400000)) + (k << 8) % (1 << 16), 24)))
        path = [SENDER] + [r.choice((174, 3356, 6939, 2914, 1299)) for _ in range(r.randrange(4))]
        if name == "hygiene" and r.random() < 0.3:
            path.insert(r.randrange(len(path) + 1), r.choice((23456, 64500, 64700, 65540, 4200000005, 65535, 64495)))
        if name == "hygiene" and r.random() < 0.05:
            path += [174] * r.choice((47, 60))
        if name == "asset" and r.random() < 0.5:
            path.insert(r.randrange(1, len(path) + 1), r.choice(BAD) + r.randrange(2))
        route = {"as_path": " ".join(map(str, path)), "origin": r.choice(("igp", "igp", "egp", "incomplete"))}
        if r.random() < 0.5:
            route["med"] = r.randrange(1, 1000)
        communities = r.sample(("64512:9", "64512:80", "64512:120", "64512:1", "3320:5", "3320:80", "174:3001", "3320:7"), r.randrange(4))
        communities += r.choice(([], ["64512:3001"], ["64512:3002"]))
        if name == "rtbh" and r.random() < 0.6:
            communities.append("blackhole")
        if communities:
            route["communities"] = communities
        large = ["%d:%d:%d" % (r.choice((OWN, 3320)), r.randrange(1, 4), r.randrange(3))] if r.random() < 0.4 else []
        if name == "rs":
            large = [] if r.random() < 0.2 else ["64512:%d:%d" % (r.choice((0, 1, 101, 102, 103)), r.choice(CLIENTS))]
            large += ["64512:0:0"] if r.random() < 0.3 else []
        if large:
            route["large_communities"] = large
        if name == "roles" and r.random() < 0.6:
            route["unknown"] = {35: r.choice((SENDER, 174)).to_bytes(4, "big")}
        out[prefix] = route
    out[last(i)] = {"as_path": str(SENDER)}
    return out


def last(i):
    return PREFIXES[-1] if i < PLAIN and NAMES[i] == "listed" else "%d.255.255.0/24" % base(i)


def sender(d, i):
    return "198.18.%d.%d" % (d, 10 + i)


def client(d, k):
    return "198.18.%d.%d" % (d, 40 + k)


class Cache:
    """An RPKI cache (RFC 8210) with the records of ROA, for one router."""

    def __init__(self, netns):
        def listen():
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", 3323))
            s.listen()
            return s
        self.listener, self.connections = in_netns(netns, listen), []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        records = b"".join(struct.pack(">BBHIBBBB4sI", 1, 4, 0, 20, 1, 16, longest, 0, ipaddress.ip_network(prefix).network_address.packed, asn)
                           for prefix, longest, asn in ROA)
        try:
            while True:
                s, _ = self.listener.accept()
                self.connections.append(s)
                while s.recv(1 << 16):  # queries
                    s.sendall(struct.pack(">BBHI", 1, 3, 7, 8) + records + struct.pack(">BBHIIIII", 1, 7, 7, 24, 1, 3600, 600, 7200))
        except OSError:
            pass  # closed

    def close(self):
        for s in [self.listener, *self.connections]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


# ---- the daemons ----

class KeelSide:
    name = "keel"

    def __init__(self, lab, d):
        text = "".join(k for k, _, _ in POLICIES.values())
        path = os.path.join(lab.dir, "beside.policy")
        with open(path, "w") as f:
            f.write(text)
        peers = [{"address": "198.18.%d.2" % d, "asn": OWN}]
        for i, name in enumerate(NAMES + ["plain"]):
            own = {"role": "peer"} if name == "roles" else {}
            peers.append({"address": sender(d, i), "asn": SENDER, "enforce_first_as": False, "families": {V4: {
                "import_policy": name if name not in ("rs", "roles", "plain") else "accept-all", "export_policy": "deny-all"}}, **own})
        for k, asn in enumerate(CLIENTS):
            peers.append({"address": client(d, k), "asn": asn, "families": {V4: {
                "import_policy": "deny-all", "export_policy": "rs"}}, "route_server_client": True})
        self.process, self.rpc = lab.keeld(self.name, {
            "router": {"asn": OWN, "router_id": "198.18.%d.1" % d}, "policy_files": [path],
            "rpki": {"caches": [{"address": "127.0.0.1", "port": 3323}]},
            "bgp": {"next_hop_tracking": False, "peers": peers}}, KEELD, args=["--no-dataplane"])
        wait_for("the VRPs", lambda: self.rpc.call("rpki.summary")["vrps"]["ipv4"] == len(ROA), 30)

    def pid(self):
        return self.rpc.call("system.info")["pid"]


class BirdSide:
    name = "bird"

    def __init__(self, lab, d):
        out = ["log stderr all;", "router id 198.18.%d.1;" % d, "protocol device { }", "roa4 table roas;",
               "protocol static { roa4 { table roas; };", *("route %s max %d as %d;" % r for r in ROA), "}", *(b for _, b, _ in POLICIES.values())]
        session = "protocol bgp %s { local 198.18." + str(d) + ".1 as 64512; neighbor %s as %d; connect delay time 1; %s ipv4 { %s }; }"
        out.append(session % ("inside", "198.18.%d.2" % d, OWN, "", "import all; export all;"))
        for i, name in enumerate(NAMES + ["plain"]):
            policy = "import all" if name in ("rs", "roles", "plain") else "import filter " + name
            out.append(session % ("p%d" % i, sender(d, i), SENDER, "local role peer;" if name == "roles" else "", policy + "; export none;"))
        for k, asn in enumerate(CLIENTS):
            out.append(session % ("c%d" % k, client(d, k), asn, "rs client;", "import none; export where to_client(%d);" % asn))
        self.process, _ = lab.bird(self.name, "\n".join(out) + "\n")

    def pid(self):
        return self.process.popen.pid


class FrrSide(daemons.Frr):
    def __init__(self, lab, d):
        super().__init__(lab, "frr")
        self.name, self.d = "frr", d
        self.run(False)

    def config(self):
        d, out = self.d, ["log stdout", "bgp route-map delay-timer 0"]
        out += ["".join(f or "" for _, _, f in POLICIES.values())] + [frr_rs(asn) for asn in CLIENTS]
        n = {name: " neighbor %s " % sender(d, i) for i, name in enumerate(NAMES + ["plain"])}
        del n["origins"]
        clients = {asn: " neighbor %s " % client(d, k) for k, asn in enumerate(CLIENTS)}
        inside = " neighbor 198.18.%d.2 " % d
        out += ["route-map none deny 10", "router bgp 64512", " bgp router-id 198.18.%d.1" % d, " no bgp ebgp-requires-policy"]
        out += [inside + "remote-as 64512"] + [x + "remote-as %d" % SENDER for x in n.values()] + [x + "remote-as %d" % asn for asn, x in clients.items()]
        out += [n["roles"] + "local-role peer"]
        out += [" address-family ipv4 unicast", *(x + "route-map none out" for x in n.values())]
        out += [x + "route-map %s in" % name for name, x in n.items() if name not in ("rs", "roles", "plain")]
        for asn, x in clients.items():
            out += [x + "route-server-client", x + "attribute-unchanged med", x + "route-map rs%d out" % asn, x + "route-map none in"]
        return "\n".join(out + [" exit-address-family"]) + "\n"

    def pid(self):
        return int(open(os.path.join(self.folder, "bgpd.pid")).read())


def frr_rs(asn):
    lists = ["bgp large-community-list standard rs-%d-%d permit 64512:%d:%d" % (v, asn, v, asn) for v in (0, 1, 101, 102, 103)]
    maps = ["deny 10", " match large-community rs-0-%d" % asn, "permit 20", " match large-community rs-1-%d" % asn, " on-match goto 40",
            "deny 30", " match large-community rs-none"]
    for k in (1, 2, 3):
        maps += ["permit %d" % (30 + 10 * k), " match large-community rs-%d-%d" % (100 + k, asn), " set as-path prepend last-as %d" % k, " on-match next"]
    maps += ["permit 70", " set large-comm-list rs-all delete"]
    return "\n".join(lists + [m if m[0] == " " else "route-map rs%d %s" % (asn, m) for m in maps]) + "\n"


# ---- the comparison ----

def cpu_ns(pid):
    """Of all threads."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[0])
        except OSError:
            pass  # a thread that has ended
    return total


def shown(speaker, i, hops=True):
    """{prefix: attributes} of policy i. The order of communities has no meaning, MED 0 is as good as none (RFC 4271 9.1.2.2)."""
    offered = offers(i)
    out = {}
    for prefix, r in dict(speaker.rib).items():
        if prefix in offered:
            out[prefix] = {k: sorted(v) if isinstance(v, list) else v for k, v in r.items()
                           if (k, v) != ("med", 0) and k not in ("originator_id", "cluster_list") and (hops or k != "next_hop")}
    return out


class Side:
    """A daemon with its speakers."""

    def __init__(self, lab, d, kind):
        self.daemon, self.d, self.name = kind(lab, d), d, kind.__name__[:-4].lower()
        to = "198.18.%d.1" % d
        netns = lab.netns("sp")
        self.inside = Speaker(netns, "198.18.%d.2" % d, to, OWN).up()
        self.clients = [Speaker(netns, client(d, k), to, asn).up() for k, asn in enumerate(CLIENTS)]
        self.cost = {}
        self.netns, self.to = netns, to

    def feed(self, i):
        """The routes of policy i from a session of their own; nanoseconds of CPU for each, until the last one is at the collector."""
        s, routes = Speaker(self.netns, sender(self.d, i), self.to, SENDER).up(), offers(i)
        bodies = [announce(r, p, sender(self.d, i)) for p, r in routes.items()]
        before = cpu_ns(self.daemon.pid())
        for b in bodies:
            s.send(UPDATE, b)
        wait_for("%s: the last route of policy %d" % (self.name, i), lambda: last(i) in self.inside.rib, 120)
        self.cost[i] = (cpu_ns(self.daemon.pid()) - before) / len(bodies)
        return s


def compare(c, sides, i):
    """All sides show the same routes of policy i, by the collector and, of a route server, by its clients."""
    name = NAMES[i]
    same = [s for s in sides if not (s.name == "frr" and POLICIES[name][2] is None)]

    def views(s):
        rows = [shown(s.inside, i, hops=False)]
        if name == "rs":
            rows += [shown(x, i, hops=False) for x in s.clients]
        return [{p: {k: v for k, v in r.items() if k != "next_hop"} for p, r in row.items()} for row in rows]

    def equal():
        seen = [views(s) for s in same]
        text = ""
        for s, v in zip(same[1:], seen[1:]):
            for a, b in zip(seen[0], v):
                wrong = sorted(p for p in {*a, *b} if a.get(p) != b.get(p))
                for p in wrong[:4]:
                    text += "\n%s, %d differences: %s: offered %s\n  keel %s\n  %s %s" % (name, len(wrong), p, offers(i)[p], a.get(p), s.name, b.get(p))
        return text == "", text
    c.eventually("%s: %s" % (name, ", ".join(s.name for s in same)), equal)
    v = views(same[0])
    c.true("%s: refused or changed, and accepted, routes" % name, all(0 < len(row) for row in v) and
           (any(len(row) < EACH for row in v) or any(r.get(k) != x.get(k) for row in v for p, r in row.items() for x in [offers(i)[p]] for k in ("local_pref", "as_path", "communities"))))
    return [len(row) for row in v]


def lines(text):
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


def count_lines(c):
    ours = birds = 0
    for name, (k, b, f) in POLICIES.items():
        if name == "rs":
            f = "".join(frr_rs(64601 + n) for n in range(RS_CLIENTS))
        print("  lines of %-8s Keel %5d, BIRD %5d, FRR %s" % (name, lines(k), lines(b), lines(f) if f is not None else "-"))
        ours, birds = ours + lines(k), birds + lines(b)
        c.true("%s: at most 1.3 times BIRD's lines" % name, lines(k) <= 1.3 * lines(b))
    print("  lines of all      Keel %5d, BIRD %5d" % (ours, birds))


def check_many(lab):
    """keeld --check of a list of 500,000 prefixes."""
    path = os.path.join(lab.dir, "many.policy")
    with open(path, "w") as f:
        f.write("define many = [\n%s];\npolicy p { if net ~ many then accept; }\n" % wrapped(
            "%d.%d.%d.0/24" % (1 + (k >> 16), k >> 8 & 255, k & 255) for k in range(CHECKED)))
    document = lab.write("many.json", '{"router": {"asn": 64512, "router_id": "192.0.2.1"}, "policy_files": ["%s"]}' % path)
    begin = time.monotonic()
    p = subprocess.run([KEELD, "-c", document, "--check", "--no-dataplane"], capture_output=True, text=True, timeout=120)
    print("  keeld --check of %d prefixes: %.2f s" % (CHECKED, time.monotonic() - begin))
    return p.returncode, p.stderr


def test(c):
    need("bird", files=(KEELD,))
    for f in daemons.Frr.programs:
        if not os.path.exists(f):
            skip(f + " is not installed")
    with Lab(out_folder(NAME)) as lab:
        lab.host("sp")
        for d, name in enumerate(("keel", "bird", "frr"), 1):
            lab.host(name)
            lab.link("sp", name, "198.18.%d.2/24" % d, name, "up", "198.18.%d.1/24" % d)
            more = [sender(d, i) for i in range(PLAIN + 1)] + [client(d, k) for k in range(len(CLIENTS))]
            lab.sh("sp", "ip -batch " + lab.write("addresses", "".join("address add %s/24 dev %s\n" % (a, name) for a in more)))
        c.equal("--check of many prefixes", check_many(lab), (0, ""))
        count_lines(c)
        cache = Cache(lab.netns("keel"))
        sides = [Side(lab, d, kind) for d, kind in enumerate((KeelSide, BirdSide, FrrSide), 1)]
        wait_established(sides[0].daemon.rpc, "198.18.1.2")
        senders = []
        for i in [PLAIN, *range(len(NAMES))]:
            for s in sides:
                if s.name == "frr" and i < PLAIN and POLICIES[NAMES[i]][2] is None:
                    continue
                senders.append(s.feed(i))
            if i < PLAIN:
                counts = compare(c, sides, i)
                print("  %-8s accepted %s of %d; us a route above accepting all: %s" % (NAMES[i], counts, EACH, ", ".join(
                    "%s %.1f" % (s.name, (s.cost[i] - s.cost[PLAIN]) / 1000) for s in sides if i in s.cost)))
        print("  FRR: no origin validation without its RPKI module and a cache; roles are keys of the session everywhere")
        for s in sides:
            for x in [s.inside, *s.clients]:
                x.close()
        for s in senders:
            s.close()
        cache.close()


if __name__ == "__main__":
    sys.exit(labtest.main(test))
