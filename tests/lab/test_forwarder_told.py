#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What keeld could not say to keelfwd is said later: after a loss of the connection of its host thread, and after keelfwd stood still. Removals, too.
The next keeld does not await a peer whose port has gone.

    src (BIRD, AS 64601) --- west (AF_XDP), rt (keeld and keelfwd, AS 64512), mgmt --- other
"""
import ctypes
import os
import re
import signal
import socket
import sys
import threading
import time

import labtest
import test_forwarder
from labtest import KEELD, Lab, need, out_folder, wait_established, wait_for
from lab import forwarder_pid

NAME = "forwarder_told"
PIDFD_GETFD = 438
PEER, GONE = "198.18.1.2", "198.18.1.3"
OWED = 16  # answers; then no request is sent (dataplane/process/forwarder.c)
ANYCAST = "20010db8000200000000000000000000"
LATE_S = 25  # keeld waited for 20 s, and ended
MAC = "02:00:00:00:77:01"

BIRD = """
router id 198.18.1.2;
log stderr all;
protocol device { }
protocol bgp keel {
  local 198.18.1.2 as 64601; neighbor 198.18.1.1 as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart;
  ipv4 { import all; export none; };
}
"""


def config():
    c = test_forwarder.config()
    c["ports"] = c["ports"][:1]
    c["bgp"] = {"peers": [{"address": a, "asn": 64601, "families": {"ipv4-unicast": {}}} for a in (PEER, GONE)]}
    return c


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        for h in ("src", "rt", "other"):
            self.lab.host(h)
        self.set("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0")
        self.lab.link("src", "eth0", PEER + "/24", "rt", "west", None)
        self.lab.sh("src", "ip address add %s/24 dev eth0; ip route add default via 198.18.1.1" % GONE)
        self.lab.link("other", "eth0", "198.18.7.2/24", "rt", "mgmt", "198.18.7.1/24")
        self.lab.bird("src", BIRD)
        self.keelfwd, forwarder = self.lab.keelfwd("rt", KEELD)
        self.socket = forwarder[1]
        self.start()
        self.pid = forwarder_pid(self.socket)
        self.c.comes_to("the port answers", lambda: self.pings("198.18.1.1"), True)

    def pings(self, address):
        return "1 received" in self.lab.sh("src", "ping -n -c 1 -W 1 %s || true" % address)

    def connections(self):
        """Copies of keeld's connections to keelfwd, in the order of their creation: of main, of the host thread, for events."""
        libc, pid, found = ctypes.CDLL(None, use_errno=True), self.keeld.popen.pid, []
        pidfd = os.pidfd_open(pid)
        for name in os.listdir("/proc/%d/fd" % pid):
            if not os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:"):
                continue
            fd = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            s = socket.socket(fileno=fd)
            try:
                mine = s.family == socket.AF_UNIX and s.getpeername() == self.socket
            except OSError:
                mine = False
            if mine:
                found.append((os.fstat(fd).st_ino, s))
        os.close(pidfd)
        return [s for _, s in sorted(found, key=lambda x: x[0])]

    def log(self):
        return self.keeld.logged()

    def set(self, what, host="rt"):
        self.lab.sh(host, what)

    def anycast(self):
        return ANYCAST in self.lab.sh("rt", "cat /proc/net/anycast6")

    def ttl_source(self, address):
        """The source of an ICMP error of the port, by the first address of the port."""
        return address in self.lab.sh("src", "ping -n -c 1 -W 1 -t 1 10.0.0.1 || true")

    def cut(self):
        """keelfwd closes the connection of the host thread: it is opened again, and nothing is lost."""
        connections, was = self.connections(), self.log().count("forwarder-told-again")
        self.c.equal("connections of keeld", len(connections), 3)
        connections[1].shutdown(socket.SHUT_RDWR)
        self.set("ip address add 2001:db8:2::1/64 dev west")
        self.c.comes_to("keelfwd joins the anycast address over a new connection", self.anycast, True)
        self.c.comes_to("... keeld says all again", lambda: self.log().count("forwarder-told-again"), was + 1)
        self.c.equal("... nothing is refused", [line for line in self.log().splitlines() if "-not-" in line], [])
        self.c.equal("... and the same keelfwd", forwarder_pid(self.socket), self.pid)

    def bgp_passed(self):
        """Packets to the port of BGP from GONE, counted as of a peer."""
        def count():
            return self.rpc.call("dataplane.stats")["ports"][0]["host"]["bgp_peers"]["passed"]
        before = count()
        self.lab.sh("src", "timeout 1 python3 -c \"import socket; s = socket.socket(); s.bind(('%s', 0)); s.settimeout(0.5); s.connect(('198.18.1.1', 179))\" 2>/dev/null || true" % GONE)
        return count() > before

    def stood_still(self):
        """keelfwd does not answer while a peer, an address and a MAC address go."""
        was = self.log().count("forwarder-told-again")
        self.c.comes_to("a packet of a peer is of the class of peers", self.bgp_passed, True)
        os.kill(self.pid, signal.SIGSTOP)
        try:
            for i in range(OWED):
                self.set("ip address add 198.18.9.%d/32 dev west" % (i + 1))
            for _ in range(3 * OWED):
                self.rpc.call("dataplane.stats")
            self.rpc.call("config.edit", merge={"bgp": {"peers": config()["bgp"]["peers"][:1]}})
            self.rpc.call("config.commit")
            wait_for("the addresses", lambda: self.log().count("address added=198.18.9.") == OWED, 60)
            self.set("ip address del 2001:db8:2::1/64 dev west; ip link set west address " + MAC)
            wait_for("the removal", lambda: "address removed=2001:db8:2::1/64" in self.log(), 60)
            wait_for("the MAC address", lambda: "port-not-refreshed port=west" in self.log(), 60)
        finally:
            os.kill(self.pid, signal.SIGCONT)
        self.c.comes_to("keeld says all again", lambda: self.log().count("forwarder-told-again") > was, True, 60)
        self.c.comes_to("... keelfwd leaves the anycast address", self.anycast, False)
        self.c.comes_to("... and has the new MAC address of the port", lambda: "port-changed port=west mac=" + MAC in self.log(), True)
        self.c.comes_to("... a former peer is no peer", self.bgp_passed, False)
        self.c.comes_to("... the port answers", lambda: self.pings("198.18.1.1"), True)
        self.c.equal("... and the same keelfwd", forwarder_pid(self.socket), self.pid)
        self.keeld.must_run()

    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", config(), KEELD, args=("--forwarder", self.socket))

    def published(self):
        return self.rpc.call("system.info")["forwarder"]["published"]

    def port_goes(self):
        """While no keeld runs the port of a peer goes, and a default route would lead to the peer: the next keeld does not await the peer."""
        c = self.c
        wait_established(self.rpc, PEER)
        wait_for("the session in keelfwd", lambda: self.rpc.call("system.info")["forwarder"]["published"], 60)
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        self.set("ip link del west; ip route add default via 198.18.7.2")
        self.start()
        c.true("the next keeld adopts keelfwd", self.rpc.call("system.info")["forwarder"]["adopted"])
        c.comes_to("... and publishes", self.published, True, 100)
        after_s = int(re.findall(r"forwarder-published after_ms=(\d+)", self.log())[-1]) / 1000
        c.true("... after %.1f s" % after_s, after_s < 60, after_s)

    def late_publication(self):
        """A keelfwd that takes long for the first publication ends no keeld."""
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        self.keelfwd.stop()
        self.keelfwd, _ = self.lab.keelfwd("rt", KEELD)
        self.pid = forwarder_pid(self.socket)
        ups = self.log().count("dataplane-up ")
        begin = threading.Thread(target=self.start)
        begin.start()
        try:
            wait_for("the ports", lambda: self.log().count("dataplane-up ") > ups, 60, poll=0.002)
            os.kill(self.pid, signal.SIGSTOP)
            begin.join()
            time.sleep(LATE_S)  # no event tells of a wait
            self.keeld.must_run()
            self.c.equal("keelfwd does not answer to the publication", self.published(), False)
        finally:
            os.kill(self.pid, signal.SIGCONT)
        self.c.comes_to("... and publishes later", self.published, True)
        self.c.equal("... once", self.log().count("forwarder-published"), 2)
        self.c.comes_to("... the port answers", lambda: self.pings("198.18.1.1"), True)

    def run(self):
        self.build()
        self.cut()
        self.stood_still()
        self.late_publication()
        self.port_goes()


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD,))
    sys.exit(labtest.main(test))
