#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""keelfwd ends, by a kill or in order, under traffic: the same keeld gives ports and tables to the next keelfwd, no session ends, the ports say what happened, and no packet is misdirected.
With a keelfwd of a supervisor, and with one that keeld has started, which starts itself again after a kill. The next keeld adopts the ports and the sessions. Without a next keelfwd keeld ends.
Prints how long packets were lost. KEEL_ROUNDS (1): how often; KEEL_PPS (2000). The supervisor is a loop with the pause of the unit.

                      mgmt (no port) --- far (BIRD, AS 64602)
    src (BIRD, AS 64603, a session with the loopback address) --- west (AF_XDP), rt, east (AF_XDP) --- up (BIRD, AS 64601)
            red (AF_XDP, a VPN instance) --- customer;  wire (net_tap), keel0
"""
import json
import os
import random
import re
import resource
import signal
import sys
import time

import labtest
import test_forwarder
from labtest import KEELCTL, KEELD, PROBE, Lab, Probe, Rpc, need, out_folder, peer, run, wait_established, wait_for
from lab import forwarder_of, forwarder_pid, process_gone
from test_forwarder import BIRD, OURS, PEER, ROUTES, prefix

NAME = "forwarder_end"
OUTAGE_S = 5  # the next keelfwd opens the ports and takes the tables
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "1"))
PPS = int(os.environ.get("KEEL_PPS", "2000"))
DESCRIPTORS = 200  # that each keelfwd of the supervisor has besides its own
AGAIN = (sys.executable, "-c", """
import os, subprocess, sys, time
for _ in range(%d):
    os.set_inheritable(os.dup(0), True)
while True:
    subprocess.call(sys.argv[1:], close_fds=False)
    time.sleep(0.1)  # RestartSec= of keel-forwarder.service, and of systemd
""" % DESCRIPTORS)
FAR, LOOPBACK, CUSTOMER, SRC = "198.18.9.2", "198.18.8.1", "192.0.2.2", "198.18.1.2"
OURS6 = "2001:db8:99::/48"
RED, BLUE = "r%d" % os.getpid(), "b%d" % os.getpid()
FAR_BIRD = BIRD.replace("198.18.2.2", FAR).replace("198.18.2.1", "198.18.9.1").replace("64601", "64602").replace("import all; export all", "import all; export none")


# IPv6 over IPv4: the next hop is the IPv6 address of keel0
SRC_BIRD = """
router id 198.18.1.2;
log stderr all;
protocol device { }
protocol bgp keel {
  local 198.18.1.2 as 64603; neighbor 198.18.8.1 as 64512; multihop; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart;
  ipv6 { import all; export none; };
}
"""


def config():
    c = test_forwarder.config()
    c["loopback_addresses"] = [LOOPBACK + "/32", "2001:db8:8::1/128"]
    c["bgp"]["networks"].append({"prefix": OURS6})
    c["bgp"]["peers"].append({"address": SRC, "asn": 64603, "source": LOOPBACK, "multihop": 2, "families": {"ipv6-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}})
    c["vrfs"] = [{"name": RED, "rd": "64512:1"}]
    c["ports"] += [{"name": "red", "device": "net_af_xdp2,iface=red", "vrf": RED, "addresses": ["192.0.2.1/24"]},
                   {"name": "wire", "device": "net_tap0,iface=far", "addresses": ["198.18.4.1/24"]}]
    c["bgp"]["peers"][1] = {"address": FAR, "asn": 64602, "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}}
    return c


class Test(test_forwarder.Test):
    def __init__(self, checks, lab, own):
        super().__init__(checks, lab)
        self.own = own
        self.rng = random.Random(own)

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up", "far", "customer"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        lab.link("up", "eth0", PEER + "/24", "rt", "east", None)
        lab.link("far", "eth0", FAR + "/24", "rt", "mgmt", "198.18.9.1/24")
        lab.link("customer", "eth0", CUSTOMER + "/24", "rt", "red", None)
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.forwarder = ()
        if not self.own:
            _, self.forwarder = lab.keelfwd("rt", KEELD, prefix=AGAIN)
        self.start()
        _, self.birdc = lab.bird("up", BIRD)
        lab.bird("far", FAR_BIRD)
        _, self.src = lab.bird("src", SRC_BIRD)
        self.at_rest("the first table")

    def start(self):
        self.process, self.rpc = self.lab.keeld("rt", config(), KEELD, args=self.forwarder, own_mounts=False)

    @property
    def socket(self):
        return self.forwarder[1] if self.forwarder else self.lab.path("keeld.sock.fwd")

    def states(self):
        return {p["name"]: p["state"] for p in self.rpc.call("dataplane.stats")["ports"]}

    def addresses(self, name):
        found = json.loads(run("ip", "-n", self.lab.netns("rt"), "-j", "-4", "address", "show", "dev", name, check=False) or "[]")
        return [a["local"] for i in found for a in i["addr_info"]]

    def pings(self, host, address):
        return "1 received" in self.lab.sh(host, "ping -n -c 1 -W 1 %s || true" % address)

    def at_rest(self, what):
        """Sessions, tables, ports, and the interfaces that belong to keelfwd."""
        c = self.c
        wait_established(self.rpc, PEER)
        wait_established(self.rpc, FAR)
        wait_established(self.rpc, SRC)
        self.whole(what)
        c.comes_to(what + ": the ports are up", self.states, dict.fromkeys(("west", "east", "red", "wire"), "up"))
        for interface, address in (("wire", "198.18.4.1"), ("keel0", LOOPBACK)):
            c.comes_to("... %s has its address" % interface, lambda: self.addresses(interface), [address])
        c.comes_to("... the instance answers", lambda: self.pings("customer", "192.0.2.1"), True)
        c.comes_to("... the loopback address answers through a port", lambda: self.pings("src", LOOPBACK), True)
        c.comes_to("... and show forwarder says who has started keelfwd", self.shown, ("adopted by keeld" if self.rpc.call("system.info")["forwarder"]["adopted"] else
                   "started by keeld" if self.own else "started by a supervisor, with the ports of keeld"))
        c.comes_to("... an ICMP error comes from the port", lambda: "198.18.1.1" in self.lab.sh("src", "ping -n -c 1 -W 1 -t 1 10.0.0.1 || true"), True)

    def shown(self):
        first = self.lab.sh("rt", "%s --socket %s show forwarder" % (KEELCTL, self.lab.path("keeld.sock"))).splitlines()[0]
        return re.search(r"keelfwd pid \d+, (.*) pid \d+$", first).group(1)

    def alarms(self):
        return [a["text"] for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "forwarder"]

    def ends(self, what, sig):
        c, was = self.c, self.logged()
        c.comes_to("the session with the loopback address has the IPv6 route", lambda: OURS6 in self.src("show", "route"), True)
        keelfwd = forwarder_pid(self.socket)
        probe = Probe(self.lab, [prefix(i)[:-1] + "1" for i in range(50)], ["up"], PPS)
        wait_for("traffic", lambda: self.sent() > PPS, 60)
        probe.say("phase link")
        os.kill(keelfwd, sig)
        c.comes_to(what + ": a new keelfwd", lambda: forwarder_of(self.rpc) not in (0, keelfwd), True)
        before = probe.report()["received"]
        c.comes_to("... the packets arrive again", lambda: probe.report()["received"] > before, True)
        self.at_rest(what)
        got = probe.end(OUTAGE_S)
        print("%s: no packets for %.2f s" % (what, got["longest_gap_us"] / 1e6), flush=True)
        c.equal("... and no packet is misdirected", got["misdirected"], 0)
        c.equal("... and no route is withdrawn though keel0 was gone", self.withdrawn(), "0")
        log = self.logged()[len(was):]
        c.equal("... keeld says once what happened", log.count("forwarder-ended pid=%d\n" % keelfwd), 1)
        for port in ("west", "east", "red"):
            c.true("... %s failed, and was up again" % port, "port-state port=%s state=failed was=up reason=\"keelfwd has ended\"" % port in log and "port-state port=%s state=up was=" % port in log)
        c.equal("... no session went down", log.count("session-down"), 0)
        c.equal("... nothing failed", [line for line in log.splitlines() if "-failed" in line or "not-set" in line or "not-installed" in line], [])

    def withdrawn(self):
        return re.search(r"Import withdraws: +(\d+)", self.src("show", "protocols", "all", "keel")).group(1)

    def logged(self):
        with open(os.path.join(self.lab.logs, "keeld.log"), errors="replace") as f:
            return f.read()

    def adopted(self):
        """The next keeld finds in keelfwd what the keeld before has said again."""
        keelfwd = forwarder_pid(self.socket)
        probe = Probe(self.lab, [prefix(i)[:-1] + "1" for i in range(50)], ["up"], PPS)
        wait_for("traffic", lambda: self.sent() > PPS, 60)
        self.rpc.close()
        self.process.popen.kill()
        self.process.popen.wait()
        self.start()
        self.at_rest("the next keeld")
        self.c.equal("... with the same keelfwd", forwarder_pid(self.socket), keelfwd)
        r = probe.end()
        self.c.equal("... no packet is lost", (r["lost"], r["misdirected"], r["reordered"]), (0, 0, 0))

    def before_publication(self):
        """keelfwd ends while the next keeld waits for a peer: the workers get its tables at once."""
        self.lab.sh("far", "ip link set eth0 down")
        self.rpc.close()
        self.process.popen.kill()
        self.process.popen.wait()
        self.start()
        self.c.equal("a keeld that waits for a peer", self.rpc.call("system.info")["forwarder"]["published"], False)
        os.kill(forwarder_pid(self.socket), signal.SIGKILL)
        self.c.comes_to("... publishes to the next keelfwd", lambda: self.rpc.call("system.info")["forwarder"]["published"], True)
        self.c.true("... before the peer is back", peer(self.rpc, FAR)["state"] != "established")
        self.lab.sh("far", "ip link set eth0 up")
        self.at_rest("the end of keelfwd before the publication")

    def twice(self):
        """The next keelfwd ends, too: before, while or after it takes the ports."""
        keeld = self.rpc.call("system.info")["pid"]
        killed = [forwarder_pid(self.socket)]
        for _ in range(4):
            os.kill(killed[-1], signal.SIGKILL)
            killed.append(wait_for("the next keelfwd", lambda: forwarder_pid(self.socket) not in (None, *killed) and forwarder_pid(self.socket), 60))
            time.sleep(self.rng.random())  # at any time of the start
        self.at_rest("keelfwd is killed four times")
        self.c.equal("... and keeld goes on", self.rpc.call("system.info")["pid"], keeld)
        ends = self.rpc.call("system.info")["forwarder"]["ends"]
        # and that of before_publication(); on a slow machine keeld has not met each one
        self.c.true("... it has counted the ends", 2 <= ends <= 5, ends)
        self.c.equal("... from the third on an alarm stays", self.alarms(), ["keelfwd has ended %d times since the start of keeld, at least 3 times in the last hour" % ends] * (ends >= 3))

    def commit(self, **merge):
        self.rpc.call("config.edit", merge=merge)
        try:
            self.rpc.call("config.commit")
        except RuntimeError as e:
            self.rpc.call("config.discard")
            return str(e)
        return None

    @staticmethod
    def above(pid):
        """The parent, which starts keelfwd again."""
        with open("/proc/%d/status" % pid) as f:
            return int(next(line.split()[1] for line in f if line.startswith("PPid:")))

    def start_fails(self):
        """The next keelfwd has no address space for its regions and does not start; the one after it does."""
        killed = [forwarder_pid(self.socket)]
        above, keeld = self.above(killed[0]), self.rpc.call("system.info")["pid"]
        was = resource.prlimit(above, resource.RLIMIT_AS, (1 << 35, resource.RLIM_INFINITY))
        os.kill(killed[0], signal.SIGKILL)
        for what in ("the next keelfwd", "the keelfwd after it"):
            killed.append(wait_for(what, lambda: forwarder_pid(self.socket) not in (None, *killed) and forwarder_pid(self.socket), 60))
        resource.prlimit(above, resource.RLIMIT_AS, was)
        self.at_rest("a keelfwd that did not start")
        self.c.equal("... and keeld goes on", self.rpc.call("system.info")["pid"], keeld)
        self.c.true("... and says why", "forwarder-failed" in self.logged())

    def few_descriptors(self):
        """The next keelfwd has too few descriptors for the connections of keeld: keeld serves everybody else, and takes the keelfwd after it."""
        killed = forwarder_pid(self.socket)
        above, keeld = self.above(killed), self.rpc.call("system.info")["pid"]
        was, slowest = resource.prlimit(above, resource.RLIMIT_NOFILE), 0
        resource.prlimit(above, resource.RLIMIT_NOFILE, (DESCRIPTORS + 8, was[1]))
        os.kill(killed, signal.SIGKILL)
        crowded = wait_for("the next keelfwd", lambda: forwarder_pid(self.socket) not in (None, killed) and forwarder_pid(self.socket), 60)
        begin = time.monotonic()
        while time.monotonic() < begin + 3:
            last = time.monotonic()
            self.rpc.call("dataplane.stats")
            slowest = max(slowest, time.monotonic() - last)
            time.sleep(0.05)
        resource.prlimit(above, resource.RLIMIT_NOFILE, was)
        os.kill(crowded, signal.SIGKILL)
        self.at_rest("a keelfwd without free descriptors")
        self.c.true("... has not stopped the main thread of keeld", slowest < 2, slowest)
        self.c.equal("... and keeld goes on", self.rpc.call("system.info")["pid"], keeld)
        with open(os.path.join(self.lab.logs, "keelfwd.log"), errors="replace") as f:
            self.c.true("... and its log says why", "Too many open files" in f.read())

    def no_descriptor(self):
        """keelfwd has no descriptor for the namespace of an instance: a commit of its port is refused, and nothing ends."""
        ports, keeld, keelfwd = config()["ports"], self.rpc.call("system.info")["pid"], forwarder_pid(self.socket)
        self.c.equal("a port of an instance goes", self.commit(ports=[p for p in ports if p["name"] != "red"]), None)
        used, was = os.listdir("/proc/%d/fd" % keelfwd), resource.prlimit(keelfwd, resource.RLIMIT_NOFILE)
        resource.prlimit(keelfwd, resource.RLIMIT_NOFILE, (next(n for n in range(was[0]) if str(n) not in used), was[1]))
        refused = self.commit(ports=ports)
        resource.prlimit(keelfwd, resource.RLIMIT_NOFILE, was)
        self.c.true("... and does not come without a descriptor", "needs more descriptors" in (refused or ""), refused)
        self.c.equal("... but then", self.commit(ports=ports), None)
        self.at_rest("the port of the instance")
        self.c.equal("... the same keeld, and the same keelfwd", (self.rpc.call("system.info")["pid"], forwarder_pid(self.socket)), (keeld, keelfwd))

    def while_it_starts(self):
        """The next keelfwd stands still while it opens the ports: commits of instances. Its answer comes after them."""
        keelfwd = forwarder_pid(self.socket)
        ports, vrfs = config()["ports"], config()["vrfs"]
        keeld, above = self.rpc.call("system.info")["pid"], self.above(keelfwd)

        def starts():
            """The next keelfwd, once EAL has a thread for interrupts: the ports come after that."""
            for child in (c for c in open("/proc/%d/task/%d/children" % (above, above)).read().split() if int(c) != keelfwd):
                try:
                    tasks = "/proc/%s/task/" % child
                    if any("intr" in open(tasks + t + "/comm").read() for t in os.listdir(tasks)):
                        return int(child)
                except OSError:
                    pass  # it has ended, and another one comes
            return None
        os.kill(keelfwd, signal.SIGKILL)
        child = wait_for("the start of the next keelfwd", starts, 60, poll=0.001)
        os.kill(child, signal.SIGSTOP)
        self.c.equal("keelfwd starts: it is lost", self.rpc.call("system.info")["forwarder"]["lost"], True)
        self.c.equal("... a commit of a further instance", self.commit(vrfs=vrfs + [{"name": BLUE, "rd": "64512:2"}]), None)
        self.c.equal("... of another instance in its place", self.commit(vrfs=vrfs + [{"name": BLUE + "x", "rd": "64512:3"}]), None)
        refused = self.commit(ports=[p for p in ports if p["name"] != "red"], vrfs=[])
        self.c.true("... the end of an instance with its port is refused", "keelfwd has ended" in (refused or ""), refused)
        refused = self.commit(vrfs=vrfs + [{"name": BLUE, "rd": "64512:2"}], ports=[dict(p, vrf=BLUE) if p["name"] == "red" else p for p in ports])
        self.c.true("... the move of a port into another one, too", "keelfwd has ended" in (refused or ""), refused)
        os.kill(child, signal.SIGCONT)
        self.at_rest("commits of instances while keelfwd started")
        self.c.equal("... and the same keeld", self.rpc.call("system.info")["pid"], keeld)
        self.c.equal("a port moves into the instance", self.commit(vrfs=vrfs + [{"name": BLUE, "rd": "64512:2"}], ports=[dict(p, vrf=BLUE) if p["name"] == "red" else p for p in ports]), None)
        self.c.comes_to("... and answers there", lambda: self.pings("customer", "192.0.2.1"), True)
        self.c.equal("... and back", self.commit(vrfs=vrfs, ports=ports), None)
        self.at_rest("the port of the instance again")

    def while_away(self):
        """Between two keelfwd a static route comes; its next hop is resolved afterwards."""
        keelfwd, hop = forwarder_pid(self.socket), "198.18.2.77"
        self.lab.sh("up", "ip address add %s/24 dev eth0" % hop)
        above = self.above(keelfwd)
        os.kill(above, signal.SIGSTOP)
        os.chmod(self.socket, 0)  # keeld may not connect, as long as systemd has not given the folder to the user of keelfwd
        os.kill(keelfwd, signal.SIGKILL)
        self.c.comes_to("no keelfwd runs", lambda: self.states()["east"], "failed")
        self.c.equal("... a commit of a static route", self.commit(static_routes=[{"prefix": "192.0.2.128/25", "next_hop": hop}]), None)
        os.kill(above, signal.SIGCONT)
        self.c.comes_to("... the next hop is resolved with the next keelfwd",
                        lambda: "lladdr" in run("ip", "-n", self.lab.netns("rt"), "neighbor", "show", hop, "dev", "east", check=False), True)
        self.at_rest("a route of meanwhile")

    def again_and_again(self):
        """Each keelfwd is killed as soon as it has the tables."""
        self.adopted()
        killed = [forwarder_pid(self.socket)]
        os.kill(killed[0], signal.SIGKILL)
        begin = time.monotonic()
        while self.process.popen.poll() is None and time.monotonic() < begin + 60:
            published = self.logged().count("forwarder-published")
            pid = forwarder_pid(self.socket)
            if published > len(killed) and pid not in (None, *killed):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.005)
        self.c.equal("no keelfwd lasts: keeld ends", self.process.popen.poll(), 1)
        self.c.true("... after more than one", len(killed) > 2, killed)
        self.c.true("... and says why", "nothing has forwarded for 10 s" in self.logged())
        self.c.comes_to("... the peer has no routes of it", self.at_bird, False)
        self.c.comes_to("... and a keelfwd starts again", lambda: forwarder_pid(self.socket) not in (None, *killed), True)
        self.start()
        self.at_rest("the keeld after it")

    def keel0_down(self):
        """keel0 goes without keelfwd: its next hop goes at once."""
        self.c.comes_to("the session with the loopback address has the IPv6 route", lambda: OURS6 in self.src("show", "route"), True)
        begin = time.monotonic()
        self.lab.sh("rt", "ip link set keel0 down")
        self.c.comes_to("keel0 is set down: the route is withdrawn", lambda: OURS6 in self.src("show", "route"), False)
        self.c.true("... at once", time.monotonic() < begin + 5, time.monotonic() - begin)
        self.lab.sh("rt", "ip link set keel0 up; ip -6 address replace 2001:db8:8::1/128 dev keel0")
        self.c.comes_to("... and comes back", lambda: OURS6 in self.src("show", "route"), True)
        self.at_rest("keel0 is up again")

    def alone(self):
        """Nobody starts the next keelfwd. Meanwhile there is an alarm, and commits without a change of ports."""
        keelfwd = forwarder_pid(self.socket)
        os.kill(self.above(keelfwd), signal.SIGKILL)
        os.kill(keelfwd, signal.SIGKILL)
        self.c.comes_to("an alarm, while no keelfwd runs", self.alarms, ["keelfwd has ended: nothing forwards"])
        self.c.equal("... it is lost", self.rpc.call("system.info")["forwarder"]["lost"], True)
        self.c.equal("... a commit", self.commit(bgp={"networks": [{"prefix": OURS}, {"prefix": "203.0.112.0/24"}]}), None)
        refused = self.commit(ports=config()["ports"][:2])
        self.c.true("... a commit of ports is refused", "keelfwd has ended" in (refused or ""), refused)
        self.c.equal("without the next keelfwd keeld ends", self.process.popen.wait(60), 1)
        self.c.true("... and says why", "nothing has forwarded for 10 s" in self.logged())
        self.c.comes_to("... the peer has no routes of it", self.at_bird, False)

    def both_killed(self):
        """The keelfwd that starts itself again does not stay without a keeld."""
        keelfwd = forwarder_pid(self.socket)
        self.process.popen.kill()
        self.process.popen.wait()
        os.kill(keelfwd, signal.SIGKILL)
        again = wait_for("a keelfwd again", lambda: forwarder_pid(self.socket) not in (None, keelfwd) and forwarder_pid(self.socket), 60)
        self.c.comes_to("a keelfwd without a keeld ends", lambda: process_gone(again), True, 60)

    def replaced(self):
        """The next keeld starts a keelfwd of its own before the former one has started itself again."""
        self.start()
        keelfwd = forwarder_pid(self.socket)
        above = self.above(keelfwd)
        os.kill(above, signal.SIGSTOP)
        for pid in (self.process.popen.pid, keelfwd):
            os.kill(pid, signal.SIGKILL)
        self.process.popen.wait()
        wait_for("the end of the TAP", lambda: " wire:" not in run("ip", "-n", self.lab.netns("rt"), "-o", "link"), 60)
        self.start()
        os.kill(above, signal.SIGCONT)
        self.c.comes_to("the former keelfwd does not start again beside another one", lambda: process_gone(above), True)
        self.at_rest("another keelfwd")


def low_limit(checks, lab):
    """keelfwd may open fewer descriptors than it has places for."""
    lab.host("low")
    p, (_, socket) = lab.keelfwd("low", KEELD, prefix=("prlimit", "--nofile=16"))
    pid = forwarder_pid(socket)

    def state():
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    checks.comes_to("keelfwd with a low limit of descriptors rests", state, "S")
    os.kill(pid, signal.SIGTERM)
    checks.comes_to("... and ends in order", p.popen.poll, 0)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        low_limit(checks, lab)
    for own in (False, True):
        checks.true("---- keelfwd of %s ----" % ("keeld" if own else "a supervisor"), True)
        with Lab(out_folder(NAME)) as lab:
            t = Test(checks, lab, own)
            t.build()
            for _ in range(ROUNDS):
                t.ends("keelfwd is killed", signal.SIGKILL)
                if not own:
                    t.ends("keelfwd stops in order", signal.SIGTERM)
            t.adopted()
            t.before_publication()
            t.twice()
            t.adopted()
            t.start_fails()
            if not own:
                t.no_descriptor()
                t.few_descriptors()
                t.while_it_starts()
            t.while_away()
            t.keel0_down()
            t.again_and_again()
            if own:
                t.both_killed()
                t.replaced()
            else:
                t.alone()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELCTL, KEELD, PROBE))
    sys.exit(labtest.main(test))
