#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""A link fails while no keeld exists: keelfwd alone moves the traffic to the other paths, and back when the link returns; the next keeld takes over without a gap.

    src --- rt (keeld and keelfwd, AS 64512; AF_XDP ports west, east, north) --- east: near (BIRD, AS 64601), north: far (BIRD, AS 64602, a longer AS path)
"""
import json
import os
import signal
import sys
import time

import labtest
from labtest import KEELD, PROBE, Lab, Probe, need, out_folder, peer, wait_established, wait_for
from lab import cpus_of_lab, forwarder_of, process_gone

NAME = "forwarder_link"
PPS = int(os.environ.get("KEEL_PPS", "2000"))
ROUTES = int(os.environ.get("KEEL_ROUTES", "300"))
PEERS = {"near": ("198.18.2.2", 64601), "far": ("198.18.3.2", 64602)}
NEAR, FAR = 1, 2  # bits of the probe's ports
USER = 65534  # nobody


def prefix(i):
    return "10.%d.%d.0" % (i >> 8, i & 255)


def bird(name):
    address, asn = PEERS[name]
    longer = "bgp_path.prepend(%d); bgp_path.prepend(%d);" % (asn, asn) if name == "far" else ""
    return """
router id %s;
log stderr all;
protocol device { }
protocol static { ipv4; %s }
protocol bgp keel {
  local %s as %d; neighbor %s as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart;
  ipv4 { import all; export filter { %s accept; }; };
}
""" % (address, " ".join("route %s/24 blackhole;" % prefix(i) for i in range(ROUTES)), address, asn, address[:-1] + "1", longer)


def config():
    worker, control = cpus_of_lab()
    families = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp%d,iface=%s" % (i, n), "addresses": ["198.18.%d.1/24" % (i + 1)]} for i, n in enumerate(("west", "east", "north"))],
        "bgp": {"peers": [{"address": a, "asn": n, "families": families} for a, n in PEERS.values()]},
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "near", "far"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        lab.link("near", "eth0", "198.18.2.2/24", "rt", "east", None)
        lab.link("far", "eth0", "198.18.3.2/24", "rt", "north", None)
        os.chown(lab.dir, USER, USER)
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.start()
        for name in PEERS:
            lab.bird(name, bird(name))
        self.whole("the first table")

    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", config(), KEELD, args=("--user", "nobody"))

    def log(self):
        with open(os.path.join(self.lab.logs, "keeld.log"), errors="replace") as f:
            return f.read()

    def whole(self, what):
        for address, _ in PEERS.values():
            wait_established(self.rpc, address)
            wait_for("routes of " + what, lambda: peer(self.rpc, address)["families"]["ipv4-unicast"]["accepted"] == ROUTES, 60)
        wait_for("publication of " + what, lambda: self.rpc.call("system.info")["forwarder"]["published"], 60)
        audit = self.rpc.call("fib.audit", limit=5)
        self.c.true("%s: the audit finds nothing" % what, audit["mismatch_count"] == 0 and audit["checked"] >= ROUTES, audit)

    def received(self, host):
        return json.loads(self.lab.sh(host, "ip -json -s link show dev eth0"))[0]["stats64"]["rx"]["packets"]

    def moves(self, what, change, host, mask):
        """A change of a link moves all traffic to `host`."""
        before = self.received(host)
        self.probe.say("phase link", "mask 0 %d" % (NEAR | FAR))
        change()
        wait_for(what, lambda: self.received(host) > before + PPS // 2, 30)
        self.probe.say("mask 0 %d" % mask, "phase rest")

    def run(self):
        self.build()
        self.pid = forwarder_of(self.rpc)
        self.probe = Probe(self.lab, (prefix(i)[:-1] + "1" for i in range(ROUTES)), PEERS, PPS, NEAR)
        before = self.received("near")
        wait_for("traffic on the shorter path", lambda: self.received("near") > before + PPS // 2, 30)
        self.rpc.close()
        gone = time.monotonic()
        self.c.equal("kill -9: keeld's exit status", self.keeld.stop(sig=signal.SIGKILL), -signal.SIGKILL)
        self.moves("traffic on the other path", lambda: self.lab.sh("near", "ip link set eth0 down"), "far", FAR)
        self.moves("traffic on the path of the link that is back", lambda: self.lab.sh("near", "ip link set eth0 up"), "near", NEAR)
        self.c.comes_to("keelfwd says again that no keeld runs", lambda: "keeld-gone workers=1 seconds=10 repairs=2\n" in self.log(), True)
        self.lab.sh("far", "ip link set eth0 down")  # the next keeld waits for this peer
        alone = time.monotonic() - gone
        self.start()
        self.c.comes_to("an alarm of the next keeld", lambda: [a["kind"] for a in self.rpc.call("system.info")["alarms"] if "keelfwd forwards with the tables of the former keeld" in a["text"]],
                        ["forwarder"])
        self.lab.sh("far", "ip link set eth0 up")
        self.whole("the next keeld")
        f = self.rpc.call("system.info")["forwarder"]
        self.c.true("for how long keelfwd was alone", alone - 1 < f["alone_s"] < alone + 30, (alone, f))
        self.c.true("the repairs of links meanwhile", f["repairs"] == 3, f)
        self.c.comes_to("the alarm ends", lambda: self.rpc.call("system.info")["alarm_counts"]["forwarder"], 0)
        self.c.true("the log has both", " repairs=3\n" in self.log() and "keeld-attached adopted=yes alone_s=" in self.log())
        self.c.equal("keelfwd goes on", forwarder_of(self.rpc), self.pid)
        self.c.true("adopted by the next keeld", self.rpc.call("system.info")["forwarder"]["adopted"])
        # keelfwd leaves links to keeld again
        self.moves("traffic on the other path by keeld", lambda: self.lab.sh("near", "ip link set eth0 down"), "far", FAR)
        got = self.probe.end()
        self.c.equal("of %d packets lost beside the link, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        lost = got["link_failure"]  # end() sees an outage of all destinations, this one of a part
        self.c.true("%d packets lost by the link" % lost["lost"], lost["lost"] < PPS // 2, lost)
        self.rpc.close()
        self.c.equal("SIGTERM: keeld's exit status", self.keeld.stop(), 0)
        wait_for("the end of keelfwd, which a keeld started", lambda: process_gone(self.pid), 30)


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
