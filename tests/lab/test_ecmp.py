#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Equal paths, with real packets: 20 next hops are all used, more than 64 raise an alarm; a lost neighbour moves its own flows alone, and so does the commit
without it; flows stay over a kill of keeld and of keelfwd; a second Keel in a row splits evenly what the first one gave it; `ecmp_key` chooses.

    src --- near (keeld) --- rt (keeld) --- sink, whose neighbours are entries of rt's kernel with a MAC address each
"""
import collections
import os
import signal
import socket
import struct
import sys

import labtest
from labtest import KEELD, Lab, in_netns, need, out_folder, wait_for
from lab import cpus_of_lab, forwarder_of

NAME = "ecmp"
FLOWS = 4000
AT_ONCE = 100
MANY, TWO, HUGE = "203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"


def hop(n):
    return "198.18.3.%d" % (n + 10)


def mac_of(n):
    return "02:00:5e:00:00:%02x" % n


def mac_octets(text):
    return bytes(int(x, 16) for x in text.split(":"))


def even(counts, total, parts):
    """Each of `parts` has its part of `total`, within 6 standard deviations of the binomial distribution."""
    mean = total / parts
    return len(counts) == parts and all((n - mean) ** 2 <= 36 * mean * (1 - 1 / parts) + 1 for n in counts.values())


def statics(prefix, hops):
    return [{"prefix": prefix, "next_hop": h} for h in hops]


def config(ports, routes, **dataplane):
    worker, control = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": ports[0][1]},
        "dataplane": dict({"worker_cpus": [worker], "control_cpus": control, "memory_mb": 448}, **dataplane),
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [a + "/24"]} for n, a in ports],
        "static_routes": routes,
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    # ---- packets ----

    def open(self):
        def raw(host, dev, protocol):
            def make():
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
                s.bind((dev, protocol))
                return s
            return in_netns(self.lab.netns(host), make)
        self.lab.sh("sink", "ip link set eth0 promisc on")
        self.tx = {"src": raw("src", "eth0", 0), "mid": raw("near", "beside", 0)}
        self.rx = raw("sink", "eth0", 0x800)
        self.rx.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.rx.settimeout(0.5)
        self.mac = {h: mac_octets(self.lab.sh(host, "cat /sys/class/net/%s/address" % dev).strip()) for h, host, dev in (("src", "near", "west"), ("mid", "rt", "extra"))}

    def frame(self, by, to, flow):
        udp = struct.pack("!HHHH", 1024 + flow, 53, 8, 0)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, socket.inet_aton("10.9.9.9"), socket.inet_aton(to))
        total = sum(struct.unpack("!10H", ip))
        ip = ip[:10] + struct.pack("!H", 0xffff - (total + (total >> 16)) % 65536) + ip[12:]
        return self.mac[by] + bytes(6) + b"\x08\x00" + ip + udp + bytes(18)

    def received(self, count, to):
        """{flow: MAC address} of at most `count` packets to `to`."""
        got = {}
        while len(got) < count:
            try:
                data = self.rx.recv(2048)
            except socket.timeout:
                break
            if data[30:34] == socket.inet_aton(to):
                got[struct.unpack("!H", data[34:36])[0] - 1024] = data[:6]
        return got

    def send(self, to, by="mid", flows=range(FLOWS), all_come=True):
        """The next hop of each flow. A packet that the machine loses is sent again."""
        got, flows = {}, list(flows)
        for _ in range(3 if all_come else 1):
            left = [f for f in flows if f not in got]
            step = AT_ONCE if all_come else 5 * AT_ONCE  # packets that do not come take the whole timeout of a step
            for i in range(0, len(left), step):
                for f in left[i:i + step]:
                    self.tx[by].send(self.frame(by, to, f))
                got.update(self.received(len(left[i:i + step]), to))
        if all_come:
            self.c.equal("%s: all packets arrive" % to, len(got), len(flows))
        return got

    # ---- routers ----

    def build(self):
        lab = self.lab
        for h in ("src", "near", "rt", "sink"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "near", "west", None)
        lab.link("near", "beside", None, "rt", "extra", None)  # sends to rt alone
        lab.link("near", "east", None, "rt", "west", None)
        lab.link("rt", "east", None, "sink", "eth0", "198.18.3.2/24")
        self.document = config((("west", "198.18.2.2"), ("east", "198.18.3.1"), ("extra", "198.18.4.1")), statics(MANY, map(hop, range(20))) + statics(TWO, map(hop, range(2))))
        self.start()
        for n in range(70):
            self.neighbor(n)
        self.open()
        wait_for("the next hops", lambda: self.up(MANY) == 20 and self.up(TWO) == 2, 30)

    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", self.document, KEELD)
        wait_for("publication", lambda: self.rpc.call("system.info")["forwarder"]["published"], 60)

    def neighbor(self, n, there=True):
        self.lab.sh("rt", "ip neigh %s %s %sdev east" % ("replace" if there else "del", hop(n), "lladdr %s nud permanent " % mac_of(n) if there else ""))

    def lookup(self, prefix):
        return self.rpc.call("fib.lookup", address=prefix.split("/")[0][:-1] + "1")

    def up(self, prefix):
        return sum(p["state"] == "up" for p in self.lookup(prefix)["paths"])

    def commit(self, routes):
        self.document["static_routes"] = routes
        self.rpc.call("config.edit", patch=[{"op": "replace", "path": "/static_routes", "value": routes}])
        return self.rpc.call("config.commit")

    def alarms(self):
        return [a["text"] for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "equal-paths"]

    # ---- parts ----

    def twenty(self):
        self.first = self.send("203.0.113.1")
        counts = collections.Counter(self.first.values())
        self.c.true("20 next hops: each has its part", even(counts, FLOWS, 20), counts)
        self.c.equal("... no alarm", self.alarms(), [])
        self.neighbor(7, False)
        wait_for("the loss of a neighbour", lambda: self.up(MANY) == 19, 30)
        lost = self.moved("a lost neighbour")
        self.commit(statics(MANY, (hop(n) for n in range(20) if n != 7)) + statics(TWO, map(hop, range(2))))
        wait_for("19 next hops", lambda: len(self.lookup(MANY)["paths"]) == 19, 30)
        self.c.true("... the commit without it: no flow moves", self.send("203.0.113.1") == lost)
        self.commit(statics(MANY, map(hop, reversed(range(20)))) + statics(TWO, map(hop, range(2))))
        self.neighbor(7)
        wait_for("20 next hops", lambda: self.up(MANY) == 20, 30)
        self.same("back, and in another order")

    def moved(self, what):
        now = self.send("203.0.113.1")
        gone = mac_octets(mac_of(7))
        c = self.c
        c.true("%s: the flows of the others stay" % what, all(now.get(f) == m for f, m in self.first.items() if m != gone))
        own = [now.get(f) for f, m in self.first.items() if m == gone]
        counts = collections.Counter(own)
        c.true("... its flows are among all others", gone not in counts and len(counts) == 19 and max(counts.values()) < len(own) / 4, counts)
        return now

    def same(self, what):
        now = self.send("203.0.113.1")
        self.c.true("%s: each flow has its next hop" % what, now == self.first, sum(now.get(f) != m for f, m in self.first.items()))

    def too_many(self):
        c = self.c
        before = self.document["static_routes"]
        self.commit(before + statics(HUGE, map(hop, range(64))))
        wait_for("64 next hops", lambda: self.up(HUGE) == 64, 30)
        counts = collections.Counter(self.send("192.0.2.1").values())
        c.true("64 next hops: each has its part", even(counts, FLOWS, 64), counts)
        c.true("... nothing is left out", "left_out" not in self.lookup(HUGE) and self.alarms() == [])
        self.commit(before + statics(HUGE, map(hop, range(70))))
        c.comes_to("70 next hops: 64 forward, and fib.lookup says so", lambda: (len(self.lookup(HUGE)["paths"]), self.lookup(HUGE).get("left_out")), (64, 6))
        c.comes_to("... and an alarm", self.alarms, ["1 groups of next hops have more than 64: the further ones forward nothing"])
        self.commit(before)
        c.comes_to("... which goes with the route", self.alarms, [])

    def kills(self):
        pid = forwarder_of(self.rpc)
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        self.same("keeld killed")
        self.start()
        wait_for("the next hops of the next keeld", lambda: self.up(MANY) == 20, 30)
        self.c.equal("keelfwd goes on", forwarder_of(self.rpc), pid)
        self.same("the next keeld")
        self.end_both(pid)
        self.start()
        wait_for("the next hops of the next keelfwd", lambda: self.up(MANY) == 20, 30)
        self.c.true("another keelfwd", forwarder_of(self.rpc) != pid)
        self.same("the next keelfwd")

    def end_both(self, pid):
        """The next keeld may come while the killed keelfwd still has its socket."""
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)

    def key(self):
        """A configured key: other choices, the same after keelfwd has lost its folder."""
        c = self.c
        self.document["dataplane"]["ecmp_key"] = 7
        self.rpc.call("config.edit", patch=[{"op": "add", "path": "/dataplane/ecmp_key", "value": 7}])
        c.equal("ecmp_key: a restart is required", self.rpc.call("config.commit").get("restart_required"), ["/dataplane/ecmp_key"])
        self.same("... until then the old key chooses")
        self.rpc.close()
        self.keeld.stop(sig=signal.SIGKILL)
        self.start()
        wait_for("the next hops", lambda: self.up(MANY) == 20, 30)
        other = self.send("203.0.113.1")
        stay = sum(other.get(f) == m for f, m in self.first.items())
        c.true("... then the new one: %d of %d flows stay" % (stay, FLOWS), stay < FLOWS / 10)
        pid = forwarder_of(self.rpc)
        self.end_both(pid)
        c.equal("the folder of keelfwd has the drawn key", self.lab_notes(remove=True), 1)
        self.start()
        wait_for("the next hops", lambda: self.up(MANY) == 20, 30)
        c.true("... the same without it", self.send("203.0.113.1") == other)

    def lab_notes(self, remove):
        found = [os.path.join(d, f) for d, _, files in os.walk(self.lab.dir) for f in files if f == "ecmp-key"]
        for f in found if remove else ():
            os.unlink(f)
        return len(found)

    def row(self):
        """near gives half of the flows to rt, which has two next hops, too: the same choice twice would give all to one."""
        self.near, rpc = self.lab.keeld("near", config((("west", "198.18.1.1"), ("east", "198.18.2.1")), statics(TWO, ("198.18.2.2", "198.18.2.9")), idle="adaptive"), KEELD, name="near")
        self.lab.sh("near", "ip neigh replace 198.18.2.9 lladdr 02:00:5e:00:01:01 nud permanent dev east")
        wait_for("the next hops of near", lambda: sum(p["state"] == "up" for p in rpc.call("fib.lookup", address="198.51.100.1")["paths"]) == 2, 30)
        got = self.send("198.51.100.1", by="src", all_come=False)
        counts = collections.Counter(got.values())
        self.c.true("two in a row: rt gets half", abs(len(got) - FLOWS / 2) < FLOWS / 10, len(got))
        self.c.true("... and splits it evenly", even(counts, len(got), 2), counts)
        rpc.close()

    def run(self):
        self.build()
        self.twenty()
        self.too_many()
        self.kills()
        self.key()
        self.row()
        self.rpc.close()
        for p in (self.near, self.keeld):
            self.c.equal("SIGTERM: keeld's exit status", p.stop(), 0)
        self.c.equal("an orderly end leaves no key", self.lab_notes(remove=False), 0)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", files=(KEELD,))
    sys.exit(labtest.main(test))
