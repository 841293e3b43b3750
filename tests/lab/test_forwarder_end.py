#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""keelfwd ends, by a kill or by its supervisor, under traffic: keeld says so and ends, both come back without help, the session and the forwarding return, and no
packet is misdirected. Prints how long packets were lost. KEEL_ROUNDS (1): how often; KEEL_PPS (2000). The supervisors are loops of a shell with the pause of the units.

    src --- rt (keeld and keelfwd, AS 64512; AF_XDP ports west, east) --- up (BIRD, AS 64601)
"""
import os
import signal
import sys
import threading
import time

import labtest
import test_forwarder
from labtest import KEELD, PROBE, Lab, Probe, Rpc, need, out_folder, peer, wait_for
from lab import forwarder_pid
from test_forwarder import BIRD, PEER, ROUTES, config, prefix

NAME = "forwarder_end"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "1"))
PPS = int(os.environ.get("KEEL_PPS", "2000"))
AGAIN = 'while :; do "$@"; sleep 0.1; done'  # RestartSec= of keel-forwarder.service, and of systemd


class Test(test_forwarder.Test):
    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        lab.link("up", "eth0", PEER + "/24", "rt", "east", None)
        lab.sh("src", "ip route add default via 198.18.1.1")
        lab.keelfwd("rt", KEELD, prefix=("sh", "-c", AGAIN, "sh"))
        _, self.rpc = lab.keeld("rt", config(), KEELD, args=("--forwarder", self.socket), prefix=("sh", "-c", AGAIN, "sh"))
        lab.bird("up", BIRD)
        self.whole("the first table")

    @property
    def socket(self):
        return self.lab.path("keelfwd.sock")

    def connect(self, was):
        """A connection to the next keeld, with the routes of the peer in its tables; None: not yet."""
        try:
            rpc = Rpc(self.lab.path("keeld.sock"))
            info = rpc.call("system.info")
            known = peer(rpc, PEER)["families"]["ipv4-unicast"]["accepted"]
        except (OSError, ValueError, StopIteration):
            return None
        if info["pid"] != was and info["forwarder"] and info["forwarder"]["published"] and known == ROUTES:
            return rpc
        rpc.close()
        return None

    def rates(self):
        """A process that prints how many packets have arrived."""
        path = "/sys/class/net/eth0/statistics/rx_packets"
        rates = self.lab.spawn("rates", "up", ["sh", "-c", "while :; do read n < %s; echo $n; sleep 0.05; done" % path], lines=True)
        rates.line(60)
        return rates

    def arrivals(self, rates, begin, out):
        """Seconds until packets of the probe arrive again, at half of their rate: a session alone sends fewer."""
        stopped = False
        last = int(rates.line(60))
        for line in iter(lambda: rates.line(60), None):
            now = int(line)
            forwards, last = now - last > PPS / 40, now
            stopped |= not forwards
            if stopped and forwards:
                out.append(time.monotonic() - begin)
                break
            if time.monotonic() > begin + 120:
                break
        rates.stop(sig=signal.SIGKILL)

    def ends(self, what, sig):
        c = self.c
        keeld, keelfwd = self.rpc.call("system.info")["pid"], forwarder_pid(self.socket)
        probe = Probe(self.lab, ["10.%d.%d.1" % (i >> 8, i & 255) for i in range(50)], ["up"], PPS)
        wait_for("traffic", lambda: self.sent() > PPS, 60)
        arrived, rates, begin = [], self.rates(), time.monotonic()
        watch = threading.Thread(target=self.arrivals, args=(rates, begin, arrived))
        os.kill(keelfwd, sig)
        watch.start()
        self.rpc.close()
        self.rpc = wait_for("the next keeld", lambda: self.connect(keeld), 120)
        watch.join()
        c.equal(what + ": keeld says once why it ends", self.logged().count("forwarder-ended pid=%d\n" % keelfwd), 1)
        c.true("... and a new keelfwd forwards", forwarder_pid(self.socket) not in (None, keelfwd))
        self.whole(what)
        c.true("... the packets arrive again", len(arrived) == 1, arrived)
        print("%s: no packets for %s s" % (what, ["%.1f" % s for s in arrived]), flush=True)
        c.equal("... and no packet is misdirected", probe.end()["misdirected"], 0)

    def logged(self):
        with open(os.path.join(self.lab.logs, "keeld.log"), errors="replace") as f:
            return f.read()


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        t.build()
        for _ in range(ROUNDS):
            t.ends("keelfwd is killed", signal.SIGKILL)
            t.ends("keelfwd stops in order", signal.SIGTERM)


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    sys.exit(labtest.main(test))
