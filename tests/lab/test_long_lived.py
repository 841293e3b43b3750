#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Long-lived graceful restart as helper (RFC 9494) with BIRD: after the restart time the routes of a killed peer stay as last resort with the community LLGR_STALE, for receivers with the
capability only; NO_LLGR removes a route; the long-lived time ends the phase, and a new session of the peer, too.

    a (BIRD, AS 64601, killed) --- rt (keeld, AS 64512) --- b (BIRD, AS 64602, a longer path), c (BIRD, AS 64603, knows LLGR), d (BIRD, AS 64604, does not)
"""
import signal
import sys

import labtest
from labtest import KEELD, V4, Lab, need, out_folder, peer, wait_established, wait_for

NAME = "long_lived"
HOSTS = {"a": 64601, "b": 64602, "c": 64603, "d": 64604}
ALONE, BOTH, NEVER = "10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"
STALE = "(65535,6)"
STALE_S = 12


def address(host, end=2):
    return "198.18.%d.%d" % (list(HOSTS).index(host) + 1, end)


def bird(host):
    routes = {"a": (ALONE, BOTH, NEVER), "b": (BOTH,)}.get(host, ())
    long = {"a": "graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time %d;" % STALE_S,
            "d": "long lived graceful restart off;"}.get(host, "long lived graceful restart aware;")
    return """
router id %s;
log stderr all;
protocol device { }
protocol static { ipv4; %s }
filter announced {
  if source != RTS_STATIC then reject;
  if net = %s then bgp_community.add((65535,7));
  %s
  accept;
}
protocol bgp keel {
  local %s as %d; neighbor %s as 64512; connect delay time 1; connect retry time 1; error wait time 1, 2; %s
  ipv4 { import all; export filter announced; };
}
""" % (address(host), " ".join("route %s blackhole;" % r for r in routes), NEVER, "bgp_path.prepend(%d);" % HOSTS[host] if host == "b" else "",
       address(host), HOSTS[host], address(host, 1), long)


def config():
    def families(host):  # the policy prefers the routes of a, also in the long-lived phase
        return {V4: {"import_policy": "prefer" if host == "a" else "accept-all", "export_policy": "accept-all"}}
    return {"router": {"asn": 64512, "router_id": "198.18.0.1"},
            "route_policies": [{"name": "prefer", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": 200}}]}],
            "bgp": {"peers": [{"address": address(h), "asn": n, "families": families(h), "timers": {"long_lived_stale_time": 3600}} for h, n in HOSTS.items()]}}


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab, self.birdc, self.number = checks, lab, {}, 0

    def start(self, host):
        self.number += 1
        process, self.birdc[host] = self.lab.bird(host, bird(host), name="bird-%s-%d" % (host, self.number))
        return process

    def at(self, host, prefix):
        """(neighbour AS, stale) of a route at a receiver; None: no route."""
        try:
            text = self.birdc[host]("show", "route", "all", prefix, "protocol", "keel")
        except RuntimeError:
            return None
        path = [line.split()[1:] for line in text.splitlines() if "BGP.as_path:" in line]
        return (int(path[0][0]), STALE in text) if path else None

    def seen(self):
        return {h: [self.at(h, p) for p in (ALONE, BOTH, NEVER)] for h in ("c", "d")}

    def run(self):
        for h in ("rt", *HOSTS):
            self.lab.host(h)
        for h in HOSTS:
            self.lab.link(h, "eth0", address(h) + "/24", "rt", "to-" + h, address(h, 1) + "/24")
        _, self.rpc = self.lab.keeld("rt", config(), KEELD, args=("--no-dataplane",))
        processes = {h: self.start(h) for h in HOSTS}
        for h in HOSTS:
            wait_established(self.rpc, address(h))
        fresh = {h: [(64512, False)] * 3 for h in ("c", "d")}
        self.c.comes_to("all routes at the receivers", self.seen, fresh)
        for i in range(2):
            best = self.rpc.call("rib.routes", family=V4, view="loc", prefix=BOTH)["routes"][0]
            self.c.equal("round %d: the best path of the destination with two" % i, best["peer"], address("a"))
            processes["a"].stop(sig=signal.SIGKILL)
            self.c.comes_to("round %d: routes in the long-lived phase" % i, self.seen, {"c": [(64512, True), (64512, False), None], "d": [None, (64512, False), None]})
            route = self.rpc.call("rib.routes", family=V4, view="loc", prefix=ALONE)["routes"][0]
            self.c.equal("round %d: stale, local-pref, community" % i, (route["stale"], route["local_pref"], "65535:6" in route["communities"] or "llgr-stale" in route["communities"]), (True, 200, True))
            best = self.rpc.call("rib.routes", family=V4, view="loc", prefix=BOTH)["routes"]
            self.c.equal("round %d: the best path of the destination with two in the phase" % i, [r["peer"] for r in best if r["best"]], [address("b")])
            if i == 0:
                self.c.comes_to("the end of the long-lived time", self.seen, {"c": [None, (64512, False), None], "d": [None, (64512, False), None]}, 60)
                self.c.equal("routes of the peer after the phase", peer(self.rpc, address("a"))["families"].get(V4, {}).get("accepted", 0), 0)
            processes["a"] = self.start("a")
            wait_established(self.rpc, address("a"))
            self.c.comes_to("round %d: all routes again, without the community" % i, self.seen, fresh, 60)


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "bird", files=(KEELD,))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
