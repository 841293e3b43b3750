#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""The life of ports under traffic on other ports: the state of a port follows its link and its device, with an alarm while the device is missing. No packet
of other ports is lost, their sessions stay, and nothing is left behind. KEEL_ROUNDS (5): how often each change is made.

    src --- west, rt (keeld; AF_XDP), east --- up (BIRD, AS 64601)
                  rt: side (AF_XDP), wire (net_tap): the ports that change
"""
import os
import sys

import labtest
from labtest import KEELCTL, KEELD, PROBE, Lab, Probe, Rpc, need, out_folder, peer, wait_established, wait_for
from lab import cpus_of_lab

NAME = "port_life"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "5"))
PPS = int(os.environ.get("KEEL_PPS", "5000"))
PEER = "198.18.2.2"
ROUTES = 50

BIRD = """
router id 198.18.2.2;
protocol device { }
protocol static { ipv4; %s }
protocol bgp keel {
  local 198.18.2.2 as 64601; neighbor 198.18.2.1 as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2;
  ipv4 { import all; export all; };
}
""" % " ".join("route 10.0.%d.0/24 blackhole;" % i for i in range(ROUTES))

WEST = {"name": "west", "device": "net_af_xdp0,iface=west", "addresses": ["198.18.1.1/24"]}
EAST = {"name": "east", "device": "net_af_xdp1,iface=east", "addresses": ["198.18.2.1/24"]}
SIDE = {"name": "side", "device": "net_af_xdp2,iface=side", "addresses": ["198.18.3.1/24"]}
WIRE = {"name": "wire", "device": "net_tap0,iface=far", "addresses": ["198.18.4.1/24"]}


def config():
    worker, control = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "management": {"http": "127.0.0.1:9179"},
        "ports": [WEST, EAST, SIDE, WIRE],
        "bgp": {"peers": [{"address": PEER, "asn": 64601, "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}}]},
    }


class Test:
    ARGS = ()

    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up", "beside"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        lab.link("up", "eth0", PEER + "/24", "rt", "east", None)
        self.side_link()
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.keeld, self.rpc = lab.keeld("rt", config(), KEELD, args=self.ARGS)
        lab.bird("up", BIRD)
        wait_established(self.rpc, PEER)
        wait_for("routes", lambda: peer(self.rpc, PEER)["families"]["ipv4-unicast"]["accepted"] == ROUTES, 60)
        self.sessions = peer(self.rpc, PEER)["established_count"]

    def side_link(self):
        self.lab.link("beside", "eth0", "198.18.3.2/24", "rt", "side", None)

    def state(self, port):
        return {p["name"]: p["state"] for p in self.rpc.call("dataplane.stats")["ports"]}.get(port)

    def alarms(self):
        return [a["text"] for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "port"]

    def ping(self, to):
        return " 0% packet loss" in self.lab.sh("beside", "ping -n -c 1 -W 1 %s || true" % to)

    # ---- states ----

    def states(self):
        c, lab = self.c, self.lab
        for port in ("west", "east", "side", "wire"):
            c.comes_to("%s has a link" % port, lambda: self.state(port), "up")
        lab.sh("beside", "ip link set eth0 down")
        c.comes_to("side without a link", lambda: self.state("side"), "down")
        lab.sh("beside", "ip link set eth0 up")
        c.comes_to("side with a link again", lambda: self.state("side"), "up")
        c.equal("no alarm", self.alarms(), [])
        self.seen()
        lab.sh("rt", "ip link delete side; ip link delete far")
        for port in ("side", "wire"):
            c.comes_to("%s without its interface" % port, lambda: self.state(port), "missing")
        c.equal("an alarm for each port", self.alarms(), ["port side is missing: the interface was deleted", "port wire is missing: the interface was deleted"])

    def seen(self):
        """Link, events, alarm, metrics, peer and fate of a port that goes down and comes back."""
        c, lab = self.c, self.lab
        east = {p["name"]: p for p in self.rpc.call("dataplane.stats")["ports"]}["east"]
        link = {"name": "east", "state": "up", "reason": None, "speed_mbps": 10000, "duplex": "full", "autoneg": "off", "fec": None}
        c.equal("the link of east", {k: east[k] for k in link}, link)
        c.equal("... at its peer", peer(self.rpc, PEER)["port"], link)
        fate = lambda: self.rpc.call("rib.fate", family="ipv4-unicast", prefix="10.0.0.0/24")
        c.equal("... in the fate of a route", (fate()["fib"]["ports"], fate()["paths"][0]["port"]), ([link], link))
        events = Rpc(lab.path("keeld.sock"))
        events.call("events.subscribe", topics=["port", "alarm"])
        lab.sh("beside", "ip link set eth0 down")
        wanted, got = {(t, "side", "down", "no carrier") for t in ("alarm", "port")}, set()
        while not wanted <= got:  # events of the change before may come first; without an event the call fails
            e = events.event()
            got.add((e["topic"], e["port"], e["state"], e["reason"]))
        c.true("events of a lost carrier", True)
        c.equal("an alarm", self.alarms(), ["port side is down: no carrier"])
        c.equal("... counted", self.rpc.call("system.info")["alarm_counts"]["port"], 1)
        page = lab.sh("rt", "curl -s http://127.0.0.1:9179/metrics").splitlines()
        for line in ('keel_port_up{port="side"} 0', 'keel_port_up{port="east"} 1', 'keel_port_speed_mbps{port="east"} 10000', 'keel_alarms{kind="port"} 1',
                     'keel_alarms{kind="disk"} 0'):
            c.true("metric " + line, line in page, [x for x in page if x.startswith(line.split("{")[0])])
        lab.sh("rt", "ip link set side down")
        c.comes_to("the reason is the interface", lambda: self.alarms(), ["port side is down: the interface is set down"])
        seen = {}
        while seen.get("reason") != "the interface is set down":
            seen = {k: v for k, v in events.event().items() if k in ("port", "state", "was", "reason")}
        c.equal("... an event", seen, {"port": "side", "state": "down", "was": "down", "reason": "the interface is set down"})
        show = lab.sh("rt", "%s --socket %s show dataplane" % (KEELCTL, lab.path("keeld.sock")))
        c.true("keelctl shows link and reason", "10G full, autoneg off" in show and "port side down: the interface is set down" in show, show)
        lab.sh("rt", "ip link set side up")
        lab.sh("beside", "ip link set eth0 up")
        seen = {}
        while seen.get("state") != "up":  # perhaps after one without carrier
            seen = {k: v for k, v in events.event().items() if k in ("port", "state", "was", "reason")}
        c.equal("the event of the end", seen, {"port": "side", "state": "up", "was": "down", "reason": None})
        c.comes_to("the alarm ends", self.alarms, [])
        events.close()

    def run(self):
        self.build()
        self.probe = Probe(self.lab, ("10.0.%d.1" % i for i in range(ROUTES)), ["up"], PPS)
        self.states()
        got = self.probe.end()
        self.c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        self.c.equal("sessions of the peer on another port", peer(self.rpc, PEER)["established_count"], self.sessions)
        self.rpc.close()
        self.c.equal("keeld's exit status", self.keeld.stop(), 0)


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
