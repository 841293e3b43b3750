#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""`ports` is part of the committed document: under traffic on other ports, commits add, change and remove a port, and rollbacks undo the commits. No packet of
the other ports is lost, their sessions stay, the peer on the port comes back, and nothing is left behind. A port whose device is missing prevents neither
rollback nor commit. KEEL_ROUNDS (4): how often.

    src --- west, rt (keeld; AF_XDP), east --- up (BIRD, AS 64601)
                  rt: side (AF_XDP) --- beside (BIRD, AS 64602); wire (net_tap)
"""
import os
import sys

import labtest
from labtest import KEELD, PROBE, Lab, Probe, memory_kb, need, out_folder, peer, wait_established, wait_for
from lab import at_rest, cpus_of_lab, forwarder_of, print_losses, process_gone

NAME = "ports_commit"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "4"))
PPS = int(os.environ.get("KEEL_PPS", "2000"))
PEER, BESIDE = "198.18.2.2", "198.18.3.2"
ROUTES = 50

BIRD = """
router id %s;
protocol device { }
protocol static { ipv4; %s }
protocol bgp keel {
  local %s as %d; neighbor %s as 64512; connect delay time 1; connect retry time 1; error wait time 1, 1;
  ipv4 { import all; export all; };
}
"""

WEST = {"name": "west", "device": "net_af_xdp0,iface=west", "addresses": ["198.18.1.1/24"]}
EAST = {"name": "east", "device": "net_af_xdp1,iface=east", "addresses": ["198.18.2.1/24"]}
SIDE = {"name": "side", "device": "net_af_xdp2,iface=side", "addresses": ["198.18.3.1/24"]}
CHANGED = dict(SIDE, mtu=1400, addresses=["198.18.3.1/24", "198.18.33.1/24"])
WIRE = {"name": "wire", "device": "net_tap0,iface=far", "addresses": ["198.18.4.1/24"]}
PACKET = {"name": "packet", "device": "net_af_packet0,iface=packet", "addresses": ["198.18.5.1/24"]}
BROKEN = {"name": "broken", "device": "net_af_xdp3,iface=nowhere"}
ODD = {"name": "odd", "device": "net_none0,x=" + "\u00e9" * 150}  # its reason is cut within a character
ACCEPT = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}


def bird(address, asn, keel, routes):
    return BIRD % (address, " ".join("route %s/24 blackhole;" % r for r in routes), address, asn, keel)


def config():
    worker, control = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [WEST, EAST],
        "bgp": {"peers": [{"address": PEER, "asn": 64601, "families": ACCEPT}, {"address": BESIDE, "asn": 64602, "families": ACCEPT}]},
    }


class Test:
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
        lab.sh("beside", "ip route add default via 198.18.3.1")
        self.start(config())
        lab.bird("up", bird(PEER, 64601, "198.18.2.1", ["10.0.%d.0" % i for i in range(ROUTES)]))
        lab.bird("beside", bird(BESIDE, 64602, "198.18.3.1", ["10.1.0.0"]))
        wait_established(self.rpc, PEER)
        wait_for("routes", lambda: self.accepted(PEER) == ROUTES, 60)
        self.sessions = peer(self.rpc, PEER)["established_count"]
        self.pids = [self.keeld.popen.pid, forwarder_of(self.rpc)]

    def start(self, document):
        self.keeld, self.rpc = self.lab.keeld("rt", document, KEELD)

    def stop(self):
        fwd = forwarder_of(self.rpc)
        self.rpc.close()
        self.c.equal("keeld's exit status", self.keeld.stop(), 0)
        wait_for("the end of keelfwd", lambda: process_gone(fwd), 30)

    def side_link(self):
        self.lab.link("beside", "eth0", BESIDE + "/24", "rt", "side", None)

    def accepted(self, address):
        return peer(self.rpc, address)["families"]["ipv4-unicast"]["accepted"]

    # ---- commits ----

    def commit(self, ports, **how):
        self.rpc.call("config.edit", merge={"ports": ports})
        return self.rpc.call("config.commit", **how)["commit"]

    def refused(self, ports):
        """The error of a commit; the candidate is as before."""
        try:
            self.commit(ports)
            return "committed"
        except RuntimeError as e:
            return str(e)
        finally:
            self.rpc.call("config.discard")

    def ports(self):
        return {p["name"]: p["state"] for p in self.rpc.call("dataplane.stats")["ports"]}

    def alarms(self):
        return [a["text"].split(":")[0] for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "port"]

    def descriptors(self):
        return [len(os.listdir("/proc/%d/fd" % pid)) for pid in self.pids]

    def memory_kb(self):
        return [memory_kb(pid) for pid in self.pids]

    def side_works(self, what):
        """The session over the port comes up; its route is in the tables of the workers."""
        wait_for("%s: session over side" % what, lambda: peer(self.rpc, BESIDE)["state"] == "established", 60)
        wait_for("%s: route over side" % what, lambda: self.accepted(BESIDE) == 1, 30)
        wait_for("%s: forwarding over side" % what, lambda: " 0% packet loss" in self.lab.sh(
            "beside", "ping -n -c 1 -W 1 -I %s 198.18.1.2 || true" % BESIDE), 30)

    def round(self, i):
        rpc = self.rpc
        added = self.commit([WEST, EAST, SIDE, WIRE])
        wait_for("round %d: added ports" % i, lambda: self.ports() == {"west": "up", "east": "up", "side": "up", "wire": "up"}, 30)
        if i == 0:
            self.side_works("added")
        self.commit([WEST, EAST, CHANGED, WIRE])
        wait_for("round %d: changed port" % i, lambda: self.ports().get("side") == "up", 30)
        if i == 0:
            self.c.true("the port has its new address and MTU", "198.18.33.1" in self.lab.sh("rt", "ip address show side") and
                        "mtu 1400" in self.lab.sh("rt", "ip link show side"))
        rpc.call("config.rollback", to=added)
        wait_for("round %d: rolled back" % i, lambda: self.ports().get("side") == "up", 30)
        if i in (0, ROUNDS - 1):
            self.side_works("rolled back")
            self.c.equal("round %d: no address of the undone commit" % i, self.lab.sh("rt", "ip -o -4 address show side | wc -l").strip(), "1")
        self.commit([WEST, EAST])
        self.c.equal("round %d: removed ports" % i, sorted(self.ports()), ["east", "west"])
        self.c.true("round %d: no XDP program on side" % i, "xdp" not in self.lab.sh("rt", "ip -o link show side"))

    def again(self):
        """An interface that is deleted and made again is a port again, by itself: of AF_XDP, and below."""
        self.commit([WEST, EAST, SIDE])
        self.side_works("before the deletion")
        for _ in range(2):
            self.lab.sh("rt", "ip link delete side")
            wait_for("the loss of side", lambda: self.ports().get("side") == "missing", 30)
            self.side_link()
            self.lab.sh("beside", "ip route add default via 198.18.3.1")
            wait_for("side again", lambda: self.ports().get("side") == "up", 30)
            self.side_works("made again")
        self.commit([WEST, EAST])

    def interfaces_again(self):
        """The same for the interface of net_tap, for the TAP that gives a port to the kernel, and for net_af_packet."""
        again = {"far": "ip tuntap add dev far mode tap multi_queue", "wire": "ip tuntap add dev wire mode tap",
                 "packet": "ip link add packet type veth peer name packet1; ip link set packet up; ip link set packet1 up"}
        self.lab.sh("rt", again["packet"])
        self.commit([WEST, EAST, WIRE, PACKET])
        for interface, command in again.items():
            for n in range(2):
                port = "wire" if interface == "far" else interface
                what = "%s made again (%d)" % (interface, n)
                self.c.comes_to(what + ": up before", lambda: self.ports().get(port), "up", 30)
                self.lab.sh("beside" if interface == "far" and n > 0 else "rt", "ip link delete " + interface)
                self.c.comes_to(what + ": missing", lambda: self.ports().get(port), "missing", 30)
                self.c.comes_to(what + ": the alarm", self.alarms, ["port %s is missing" % port])
                self.lab.sh("rt", command)
                self.c.comes_to(what + ": up", lambda: self.ports().get(port), "up", 30)
                self.c.comes_to(what + ": no alarm", self.alarms, [])
                if interface == "far":  # the other end of the wire
                    self.lab.sh("rt", "ip link set far netns " + self.lab.netns("beside"))
                    self.lab.sh("beside", "ip address add 198.18.4.2/24 dev far; ip link set far up")
                    self.c.comes_to(what + ": packets to the router and back", lambda: " 0% packet loss" in self.lab.sh(
                        "beside", "ping -n -c 1 -W 1 -I far 198.18.4.1 || true"), True)
        self.commit([WEST, EAST])
        self.lab.sh("rt", "ip link delete packet; ip link delete wire")  # who made them, removes them
        self.lab.sh("beside", "ip link delete far", check=False)

    def missing(self, what, *others):
        """All ports are there but for the device of side, with its alarm; then side comes back by itself."""
        self.c.comes_to(what + ": the ports", self.ports, dict({"west": "up", "east": "up", "side": "missing"}, **{p: "up" for p in others}), 30)
        self.c.comes_to(what + ": the alarm", self.alarms, ["port side is missing"])
        self.side_link()
        self.lab.sh("beside", "ip route add default via 198.18.3.1")
        self.c.comes_to(what + ": side is back", lambda: self.ports().get("side"), "up", 30)
        self.c.comes_to(what + ": no alarm", self.alarms, [])
        self.side_works(what)

    def without_device(self):
        c, rpc = self.c, self.rpc
        both = self.commit([WEST, EAST, SIDE])
        self.commit([WEST, EAST])
        self.lab.sh("rt", "ip link delete side")
        rpc.call("config.rollback", to=both)
        self.missing("rollback without the device")
        self.commit([WEST, EAST, WIRE], confirm_s=5)
        c.true("the commit waits for its confirmation", "confirm" in rpc.call("config.history"))
        self.lab.sh("rt", "ip link delete side")
        self.missing("a commit without confirmation, and the device")
        c.true("the commit is undone", "confirm" not in rpc.call("config.history") and "wire" not in self.ports())
        self.lab.sh("rt", "ip link delete side")
        wait_for("the loss of side", lambda: self.ports().get("side") == "missing", 30)
        self.commit([WEST, EAST, CHANGED, WIRE])
        self.missing("commit without the device", "wire")
        c.true("the port has the MTU of the commit", "mtu 1400" in self.lab.sh("rt", "ip link show side"))
        self.commit([WEST, EAST])

    def start_without_device(self):
        """keeld starts although a device is missing, and without any: with sessions over an interface that is no port. Ports come by a commit."""
        self.lab.sh("rt", "ip link delete side")
        document = config()
        self.start(dict(document, ports=[WEST, EAST, SIDE]))
        self.missing("start without the device")
        self.stop()
        self.lab.sh("rt", "ip address replace 198.18.2.1/24 dev east")
        for ports in ([BROKEN, ODD], []):
            what = "start with %d ports and no device" % len(ports)
            self.start(dict(document, ports=ports))
            self.c.equal(what + ": the ports", self.ports(), {"broken": "missing", "odd": "failed"} if ports else {})
            self.c.equal(what + ": the alarm", self.alarms(), ["port broken is missing", "port odd has failed"][:len(ports)])
            wait_established(self.rpc, PEER)
            self.c.comes_to(what + ": the routes of the peer", lambda: self.accepted(PEER), ROUTES)
            sessions = peer(self.rpc, PEER)["established_count"]
            self.commit([WEST, SIDE])
            self.c.comes_to(what + ": the first ports", self.ports, {"west": "up", "side": "up"})
            self.side_works(what)
            self.commit([])
            self.c.equal(what + ": the last ports leave", self.ports(), {})
            self.commit([WEST])
            self.c.comes_to(what + ": and come back", self.ports, {"west": "up"})
            self.c.equal(what + ": the session beside the ports", (peer(self.rpc, PEER)["state"], peer(self.rpc, PEER)["established_count"]), ("established", sessions))
            self.stop()
        self.lab.sh("rt", "ip address flush dev east")

    def bad(self):
        before = self.rpc.call("config.get")
        text = self.refused([WEST, EAST, BROKEN])
        self.c.true("a bad device is refused by its path", "/ports/2/device" in text and "nowhere does not exist" in text, text)
        self.c.equal("nothing changed", (self.rpc.call("config.get"), sorted(self.ports())), (before, ["east", "west"]))

    def run(self):
        c = self.c
        self.build()
        self.probe = Probe(self.lab, ("10.0.%d.1" % i for i in range(ROUTES)), ["up"], PPS)
        self.bad()
        self.round(0)  # the first one makes pools and so on
        fds, memory = at_rest(self.descriptors), self.memory_kb()
        for i in range(1, ROUNDS):
            self.round(i)
        # one more or less: the attempt to connect to the peer of the port that left; a leak is one a round
        c.comes_to("descriptors after %d rounds, of %r" % (ROUNDS, fds), lambda: [max(0, now - was - 1) for was, now in zip(fds, self.descriptors())], [0, 0])
        grown = [(b - a) / max(1, ROUNDS - 1) for a, b in zip(memory, self.memory_kb())]
        print("      memory: %r kB, grown by %r kB a round" % (memory, [round(g) for g in grown]), flush=True)
        self.again()
        self.interfaces_again()
        self.without_device()
        got = self.probe.end()
        print_losses(self.rpc, got)
        c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        c.equal("sessions of the peer on another port", peer(self.rpc, PEER)["established_count"], self.sessions)
        audit = self.rpc.call("fib.audit", limit=5)
        c.equal("the audit", audit["mismatch_count"], 0)
        self.stop()
        self.start_without_device()


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
