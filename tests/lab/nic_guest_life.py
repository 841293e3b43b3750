#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Links and devices of real drivers, in a guest of scripts/nic-guest with three pairs of NICs: a link that goes down moves the traffic to the other path, and
back; a device that is pulled does the same, and sessions on other ports stay. KEEL_ROUNDS (3): how often each change is made.

    src --- nic0, rt (keeld) --- nic1: near (BIRD, AS 64601), nic2: far (BIRD, AS 64602, a longer AS path)
"""
import os
import sys

import labtest
import test_forwarder_link as link
import test_port_life as life
from labtest import KEELD, NICS, PROBE, ROOT, Lab, Probe, commit, memory_kb, need, out_folder, peer, run, wait_for
from lab import forwarder_of, process_gone
from test_forwarder_link import FAR, NEAR, PEERS, PPS, ROUTES, prefix

NAME = "nic_guest_life"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "3"))
PORTS = ("west", "east", "north")


class Monitor:
    """QEMU's monitor, behind a serial line."""

    def __init__(self):
        self.fd = os.open(os.environ["NIC_GUEST_MONITOR"], os.O_RDWR | os.O_NOCTTY)
        self.say("")

    def say(self, command):
        os.write(self.fd, command.encode() + b"\n")
        got = b""
        while not got.endswith(b"(qemu) "):
            got += os.read(self.fd, 4096)
        return got.decode(errors="replace")


def bind(nic):
    """A device that was added again belongs to vfio-pci, as an operator's rule of udev says."""
    wait_for("the device", lambda: os.path.exists("/sys/bus/pci/devices/" + nic[0]), 30)
    run(os.path.join(ROOT, "scripts", "nic"), "bind", nic[0])


class Test(link.Test):
    state, alarms = life.Test.state, life.Test.alarms

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "near", "far"):
            lab.host(h)
        for i, (h, nic) in enumerate(zip(("src", "near", "far"), NICS)):
            lab.move(nic[2], h, "eth0")
            lab.sh(h, "ip address add 198.18.%d.2/24 dev eth0; ip link set eth0 up" % (i + 1))
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.start()
        for name in PEERS:
            lab.bird(name, link.bird(name))
        self.whole("the first table")

    def start(self):
        document = link.config()
        for p, nic in zip(document["ports"], NICS):
            p["device"] = nic[0]
        os.chown(self.lab.dir, link.USER, link.USER)
        self.keeld, self.rpc = self.lab.keeld("rt", document, KEELD, args=("--user", "nobody"))

    def whole(self, what):
        for address, _ in PEERS.values():
            wait_for("session of " + address, lambda: (peer(self.rpc, address) or {}).get("state") == "established", 90)
            wait_for("routes of " + what, lambda: peer(self.rpc, address)["families"]["ipv4-unicast"]["accepted"] == ROUTES, 60)

    def links(self):
        for n in range(ROUNDS):
            self.moves("traffic on the other path", lambda: self.monitor.say("set_link nic1 off"), "far", FAR)
            self.c.comes_to("link %d: east is down" % n, lambda: self.state("east"), "down")
            self.moves("traffic on the path of the link that is back", lambda: self.monitor.say("set_link nic1 on"), "near", NEAR)
            self.c.comes_to("link %d: east is up again" % n, lambda: self.state("east"), "up")
            self.whole("link %d" % n)

    def held(self):
        """Descriptors and resident memory of the process with the ports."""
        pid = forwarder_of(self.rpc)
        return len(os.listdir("/proc/%d/fd" % pid)), memory_kb(pid)

    def pulled(self):
        held = [self.held()]
        for n in range(ROUNDS):
            self.moves("traffic on the other path", lambda: self.monitor.say("device_del nic1"), "far", FAR)
            self.c.comes_to("removal %d: east is missing" % n, lambda: self.state("east"), "missing")
            self.c.equal("... and an alarm names the port", self.alarms(), ["port east is missing: the device was removed"])
            commit(self.rpc, [{"op": "add", "path": "/bgp/max_paths", "value": 2 + n % 8}])  # an exception if refused
            wait_for("the end of the device", lambda: not os.path.exists("/sys/bus/pci/devices/" + NICS[1][0]), 30)

            def back():
                self.monitor.say("device_add %s,id=nic1,netdev=own1,romfile=,bus=rp1,mac=%s" % (os.environ["NIC_GUEST_DEVICE"], NICS[1][1]))
                bind(NICS[1])

            self.moves("traffic on the path of the device that is back", back, "near", NEAR)
            self.c.comes_to("removal %d: east is up again" % n, lambda: self.state("east"), "up")
            self.c.equal("... without an alarm", self.alarms(), [])
            self.whole("removal %d" % n)
            held.append(self.held())
        print("      descriptors, resident kB after each removal: %r" % held)
        self.c.comes_to("a removal leaves no descriptor behind", lambda: self.held()[0], held[0][0])

    def run(self):
        self.monitor = Monitor()
        self.build()
        self.probe = Probe(self.lab, (prefix(i)[:-1] + "1" for i in range(ROUTES)), PEERS, PPS, NEAR)
        before = self.received("near")
        wait_for("traffic on the shorter path", lambda: self.received("near") > before + PPS // 2, 30)
        far = peer(self.rpc, PEERS["far"][0])["established_count"]
        self.links()
        self.pulled()
        self.c.equal("the session on the other port stayed", peer(self.rpc, PEERS["far"][0])["established_count"], far)
        got = self.probe.end()
        self.c.equal("of %d packets lost beside the changes, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        print("      lost by links and devices: %r" % got["link_failure"])
        pid = forwarder_of(self.rpc)
        self.rpc.close()
        self.c.equal("SIGTERM: keeld's exit status", self.keeld.stop(), 0)
        wait_for("the end of keelfwd", lambda: process_gone(pid), 30)


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
