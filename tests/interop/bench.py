# SPDX-License-Identifier: BSD-3-Clause
"""A foreign daemon, a keeld and two small speakers; the features under test, and the results.

    up (AS 64605 or 64512) --- rt (keeld, AS 64512) --- d (the daemon, AS 64601 or 64512) --- behind (AS 64600 or 64512)
"""
import contextlib
import json
import os
import signal
import traceback
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import KEELD, V4, V6, Capture, Speaker, peer, wait_for
from wire import UPDATE, announce, end_of_rib

US, IT, UP, BEHIND = 64512, 64601, 64605, 64600
ROUTER_ID, IT_ID, UP_ID, BEHIND_ID = "198.18.0.1", "198.18.1.2", "198.18.2.2", "198.18.3.2"
RT = {V4: "198.18.1.1", V6: "2001:db8:1::1"}
D = {V4: "198.18.1.2", V6: "2001:db8:1::2"}
RT_UP = {V4: "198.18.2.1", V6: "2001:db8:2::1"}
S_UP = {V4: "198.18.2.2", V6: "2001:db8:2::2"}
D_DOWN = {V4: "198.18.3.1", V6: "2001:db8:3::1"}
S_DOWN = {V4: "198.18.3.2", V6: "2001:db8:3::2"}
LOCAL_RT, LOCAL_D = "fe80::1", "fe80::2"

NETWORK = {V4: "203.0.113.0/24", V6: "2001:db8:ffff::/48"}  # network of keeld; keeld's export policy sets MED 88
OWN = {V4: {"10.7.0.0/24": 77, "10.7.1.0/24": None, "10.7.2.0/24": None, "10.7.9.0/24": None},
       V6: {"2001:db8:700::/48": 77, "2001:db8:701::/48": None, "2001:db8:702::/48": None, "2001:db8:709::/48": None}}
SPARE = {V4: "10.7.9.0/24", V6: "2001:db8:709::/48"}  # of OWN: not announced at the start
NETWORK_MED = 88


def cases(family, base, asn, internal=False, many=15):
    """{prefix: attributes}: routes of a speaker. Internal routes carry local pref and MED, and not the speaker's own AS. `many` communities: birdc
    truncates lines at some 500 characters."""
    first = "" if internal else "%d " % asn
    bare = [
        {"origin": "igp", "as_path": ""}, {"origin": "egp", "as_path": "64700"}, {"origin": "incomplete", "as_path": "64700"},
        {"communities": ["64600:1", "64605:65535", "0:7"]},
        {"large_communities": ["64600:2:3", "4200000001:4294967295:0"]},
        {"ext_communities": ["rt:64600:20", "soo:64605:21", "rt:4200000001:5"]},
        {"as_path": "4200000001 64700 64700 64700 4200000002"},
        {"as_path": "64700 {64702,64703}", "atomic_aggregate": True, "aggregator": {"asn": 64700, "address": "10.9.9.9"}},
        {"as_path": "4200000001", "aggregator": {"asn": 4200000001, "address": "10.9.9.8"}},
        {"communities": ["64600:%d" % i for i in range(many)], "large_communities": ["64600:%d:1" % i for i in range(many)]}]
    out = {}
    for i, r in enumerate(bare):
        route = dict(r, origin=r.get("origin", "igp"), as_path=(first + r.get("as_path", "64700")).strip())
        if internal:
            route.update(local_pref=100 + 10 * i, med=1 + 1000 * i)
        out["10.%d.%d.0/24" % (base, i) if family == V4 else "2001:db8:%x%02x::/48" % (base, i)] = route
    return out


COMPARED = ("origin", "as_path", "next_hop", "med", "local_pref", "communities", "large_communities", "ext_communities", "aggregator",
            "atomic_aggregate", "originator_id", "cluster_list")


def comparable(route, without=()):
    """The compared attributes; communities of a route are a set (RFC 1997, 4360, 8092)."""
    out = {}
    for k in COMPARED:
        if k in route and k not in without:
            out[k] = sorted(route[k]) if k.endswith("communities") else route[k]
    return out


def table(routes, without=()):
    return {p: comparable(r, without) for p, r in routes.items()}


def difference(seen, expected):
    """The prefixes that differ, with the attributes of both sides."""
    out = {}
    for p in sorted(set(seen) | set(expected)):
        a, b = seen.get(p), expected.get(p)
        if a is None or b is None:
            out[p] = "missing" if a is None else "unexpected"
        elif a != b:
            out[p] = {k: (a.get(k), b.get(k)) for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)}
    return out


class No(Exception):
    """A feature missing in the daemon's version, with the observation."""


class Feature:
    def __init__(self, bench, key, family):
        self.bench, self.key, self.family, self.good, self.notes = bench, key, family, True, []

    def what(self, text):
        return "%s %s %s: %s" % (self.bench.daemon.name, self.family.split("-")[0], self.key, text)

    def true(self, text, good, seen=""):
        self.good &= self.bench.checks.true(self.what(text), good, seen)
        return good

    def equal(self, text, seen, expected):
        return self.true(text, seen == expected, "saw %r instead of %r" % (seen, expected))

    def same(self, text, read, expected, timeout=20):
        """Compares tables: waits for equality, and shows differences."""
        last = [None]

        def condition():
            last[0] = difference(read(), expected)
            return not last[0]
        try:
            wait_for(text, condition, timeout)
        except TimeoutError:
            return self.true(text, False, "seen, expected: %s" % json.dumps(last[0]))
        return self.true(text, True)

    def comes_to(self, text, read, expected, timeout=20):
        self.good &= self.bench.checks.comes_to(self.what(text), read, expected, timeout)
        return self.good

    def note(self, text):
        self.notes.append(text)


class Bench:
    def __init__(self, checks, lab, daemon_class, out, families):
        self.checks, self.lab, self.out, self.families = checks, lab, out, families
        self.tag = daemon_class.name.lower() + daemon_class.tag
        self.rt, self.d, self.s = ("%s-%s" % (h, self.tag) for h in ("rt", "d", "s"))
        self.cells = {}  # (feature, family): (True or False, text)
        self.keeld = self.rpc = None
        self.speakers = {}
        self.runs = 0
        self.build()
        self.daemon = daemon_class(lab, self.d)

    def build(self):
        lab = self.lab
        for h in (self.rt, self.d, self.s):
            lab.host(h, ipv6=True)
            lab.sh(h, "sysctl -qw net.ipv6.conf.default.addr_gen_mode=1")  # a single link-local address, ours

        def both(a, *more):
            return [a[V4] + "/24", a[V6] + "/64", *more]
        lab.link(self.rt, "east", both(RT, LOCAL_RT + "/64"), self.d, "east", both(D, LOCAL_D + "/64"))
        lab.link(self.rt, "north", both(RT_UP), self.s, "north", both(S_UP))
        # FRR also needs a link-local address
        lab.link(self.d, "south", both(D_DOWN, LOCAL_RT + "/64"), self.s, "south", both(S_DOWN, LOCAL_D + "/64"))

        # The daemon's host has a route behind keeld: next hops of internal routes resolve.
        lab.sh(self.d, "ip route add 198.18.2.0/24 via %s; ip route add 2001:db8:2::/64 via %s" % (RT[V4], RT[V6]))

    # ---- arrangements, in sequence ----

    def start_keeld(self, config=None):
        if config is not None:
            self.config = config
            self.runs += 1
        path = os.path.join(self.lab.dir, self.name() + ".json")
        self.keeld, self.rpc = self.lab.keeld(self.rt, self.config if config is not None else json.load(open(path)), KEELD, name=self.name(),
                                              args=("--no-dataplane",))

    def name(self):
        return "keeld-%s-%d" % (self.tag, self.runs)

    def arrange(self, setup, peers, speakers, wait=60, patience=labtest.PATIENCE_S, **bgp):
        """Starts the daemon, keeld and the speakers again, with new configurations."""
        self.tear_down()
        self.daemon.start(setup)
        self.start_keeld({
            "router": {"asn": US, "router_id": ROUTER_ID},
            "prefix_lists": [{"name": "ours", "entries": [{"action": "permit", "prefix": NETWORK[f]} for f in self.families]}],
            "route_policies": [{"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "ours"}, "set": {"med": NETWORK_MED}},
                                                         {"seq": 20, "action": "permit"}]}],
            "bgp": dict({"networks": [{"prefix": NETWORK[f]} for f in self.families], "peers": peers}, **bgp)})
        self.speakers = speakers
        self.speakers_up()
        self.wait_up(wait, patience)

    def tear_down(self):
        for speaker, _ in self.speakers.values():
            speaker.close()
        self.speakers = {}
        if self.keeld:
            self.rpc.close()
            self.checks.equal("%s: keeld's exit status" % self.daemon.name, self.keeld.stop(), 0)
            self.keeld = None
        if self.daemon.process and self.daemon.process.running():
            self.daemon.stop()

    def wait_up(self, wait=60, patience=labtest.PATIENCE_S):
        peers = [p["address"] for p in self.config["bgp"]["peers"]]
        self.daemon.wake()
        labtest.wait_established(self.rpc, *peers, timeout=wait, patience=patience)

    def speaker(self, which, family, asn, **keys):
        """`up` speaks to keeld, `behind` to the daemon."""
        source, to, identifier = (S_UP, RT_UP, UP_ID) if which == "up" else (S_DOWN, D_DOWN, BEHIND_ID)
        return Speaker(self.lab.netns(self.s), source[family], to[family], asn, families=(family,), identifier=identifier, **keys)

    def speakers_up(self):
        """Speakers without a session reconnect and announce all their routes."""
        for speaker, routes in self.speakers.values():
            if not getattr(speaker, "closed", True):
                continue
            speaker.up(60)
            for prefix, route in routes.items():
                speaker.send(UPDATE, announce(route, prefix, speaker.source))
            speaker.send(UPDATE, end_of_rib(speaker.families[0]))

    def kill_keeld(self):
        self.rpc.close()
        os.kill(self.keeld.popen.pid, signal.SIGKILL)
        self.keeld.popen.wait()

    @contextlib.contextmanager
    def feature(self, key, family):
        f = Feature(self, key, family)
        try:
            yield f
            self.cells[key, family] = (True if f.good else None, "; ".join(f.notes))
        except No as e:
            self.cells[key, family] = (False if f.good else None, str(e))
            self.checks.true(f.what("no, as seen: %s" % e), True)
        except (RuntimeError, OSError, KeyError, ValueError) as e:  # the next feature is tested nevertheless
            traceback.print_exc()
            self.cells[key, family] = (None, str(e))
            self.checks.true(f.what("runs to its end"), False, e)

    # ---- readers ----

    def view(self, view, address, family):
        return {r["prefix"]: r for r in self.all_routes(family, view=view, peer=address)}

    def all_routes(self, family, **params):
        out, page = [], {}
        while True:
            r = self.rpc.call("rib.routes", family=family, **params, **page)
            out += r["routes"]
            if "next" not in r:
                return out
            page = {"cursor": r["next"]}

    def counters(self, address, family):
        return dict(peer(self.rpc, address)["families"][family]["refresh"])

    def state(self, address):
        return peer(self.rpc, address)["state"]

    def capture(self, name):
        return Capture(self.lab.netns(self.rt), "east", os.path.join(self.out, "%s-%s.pcap" % (self.tag, name)))
