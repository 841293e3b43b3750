#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelfwd outlives keeld: kill -9, orderly stops and forbidden system calls of keeld under traffic lose and misdirect no packet, and BIRD keeps our route. keeld and keelfwd have the rights that keeld(8) names. KEEL_ROUNDS (1) sets how often each is repeated; KEEL_LATE_S (0): seconds for which keelfwd stops, more than 10.

    src --- rt (keeld and keelfwd, AS 64512; AF_XDP ports west, east) --- up (BIRD, AS 64601)
"""
import os
import signal
import socket
import struct
import sys
import threading

import inject
import labtest
from labtest import KEELD, PROBE, Lab, Probe, need, out_folder, peer, wait_established, wait_for
from lab import cpus_of_lab, forwarder_pid, print_losses, process_gone

NAME = "forwarder"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "1"))
LATE_S = int(os.environ.get("KEEL_LATE_S", "0"))
PPS = int(os.environ.get("KEEL_PPS", "20000"))
ROUTES = int(os.environ.get("KEEL_ROUTES", "500"))
PEER = "198.18.2.2"
OURS = "203.0.113.0/24"
USER = 65534  # nobody
EXECVE = 59
NET_BIND_SERVICE, NET_ADMIN, NET_RAW, IPC_LOCK, BPF = (1 << n for n in (10, 12, 13, 14, 39))


def prefix(i):
    return "10.%d.%d.0" % (i >> 8, i & 255)


BIRD = """
router id 198.18.2.2;
log stderr all;
protocol device { }
protocol static { ipv4; %s }
protocol bgp keel {
  local 198.18.2.2 as 64601; neighbor 198.18.2.1 as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart;
  ipv4 { import all; export all; };
}
""" % " ".join("route %s/24 blackhole;" % prefix(i) for i in range(ROUTES))


def config():
    worker, control = cpus_of_lab()
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp%d,iface=%s" % (i, n), "addresses": ["198.18.%d.1/24" % (i + 1)]} for i, n in enumerate(("west", "east"))],
        "route_policies": [],
        "bgp": {"networks": [{"prefix": OURS}],
                "peers": [{"address": PEER, "asn": 64601, "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}}]},
    }


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "up"):
            lab.host(h)
        lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        lab.link("up", "eth0", PEER + "/24", "rt", "east", None)
        os.chown(lab.dir, USER, USER)  # of the document, the state and the sockets of keeld
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.start()
        _, self.birdc = lab.bird("up", BIRD)
        wait_established(self.rpc, PEER)
        self.whole("the first table")

    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", config(), KEELD, args=("--forwarder", self.lab.path("fwd.sock"), "--user", "nobody"))

    def whole(self, what):
        """Waits until the workers use tables with all routes of the peer."""
        wait_for("routes of " + what, lambda: (peer(self.rpc, PEER)["families"]["ipv4-unicast"]["accepted"]) == ROUTES, 60)
        wait_for("publication of " + what, lambda: self.rpc.call("system.info")["forwarder"]["published"], 60)
        driver = self.rpc.call("dataplane.stats")["ports"][0]["driver"]
        self.c.true("%s: the driver's counters come from keelfwd" % what, "rx_good_packets" in driver and len(driver) > 10, driver)
        audit = self.rpc.call("fib.audit", limit=5)
        self.c.true("%s: the audit finds nothing" % what, audit["mismatch_count"] == 0 and audit["checked"] >= ROUTES, audit)

    def at_bird(self):
        try:
            return OURS in self.birdc("show", "route", OURS)
        except RuntimeError:
            return False  # birdc fails for a missing route

    def sent(self):
        return self.stats()["forwarded"]

    def stats(self):
        return self.rpc.call("dataplane.stats")["workers"][0]

    def status(self, pid):
        """The rights of each thread: user ids, group ids, the five sets of capabilities, no_new_privs, mode of the filter."""
        found = set()
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, task)) as f:
                s = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            found.add((s["Uid"], s["Gid"], *(int(s[n], 16) for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), s["NoNewPrivs"], s["Seccomp"]))
        return found

    def rights(self):
        ids = "\t".join([str(USER)] * 4)
        self.c.equal("rights of all threads of keeld", self.status(self.keeld.popen.pid), {(ids, ids, 0, NET_BIND_SERVICE, NET_BIND_SERVICE, NET_BIND_SERVICE, 0, "1", "2")})
        root, mask = "\t".join(["0"] * 4), NET_ADMIN | NET_RAW | IPC_LOCK | BPF
        self.c.equal("rights of all threads of keelfwd", self.status(self.pid), {(root, root, 0, mask, mask, mask, 0, "1", "0")})

    def priority(self):
        """The worker comes before every other process, in its autogroup and the autogroup in the host."""
        nice = {}
        for task in os.listdir("/proc/%d/task" % self.pid):
            with open("/proc/%d/task/%s/stat" % (self.pid, task)) as f:
                name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
                nice[name] = int(rest.split()[16])
        self.c.equal("nice value of the worker", nice["keel-worker-0"], -20)
        group = "/proc/%d/autogroup" % self.pid
        if os.path.exists(group):
            with open(group) as f:
                self.c.equal("nice value of keelfwd's autogroup", f.read().split()[-1], "-20")

    def commit(self):
        """Commits as the user of keeld: FILE is written, an address of keel0 is set by keelfwd. A commit that would need a right that keeld lacks costs the right
        and not keeld: an expression (PCRE2 asks for memory that is writable and executable), and a peer of a VPN instance (a network namespace)."""
        vpn = {"address": "198.18.9.2", "asn": 64609, "vrf": "blue", "families": {"ipv4-unicast": {}}}
        for merge in ({"bgp": {"cluster_id": "198.18.0.9"}},
                      {"as_path_lists": [{"name": "odd", "entries": [{"action": "permit", "regex": "^(64601_)+(1.*2|3[^_]*4)$"}]}]},
                      {"rpki": {"caches": [{"address": "127.0.0.1", "port": 3323}]}},
                      {"vrfs": [{"name": "blue"}], "bgp": {"peers": config()["bgp"]["peers"] + [vpn]}}):
            self.rpc.call("config.edit", merge=merge)
            self.rpc.call("config.commit")
        with open(self.lab.path("keeld.json")) as f:
            self.c.true("FILE has the commit", "198.18.0.9" in f.read())
        wait_for("an attempt to reach the RPKI cache", lambda: self.rpc.call("rpki.summary")["caches"][0].get("error"), 30)
        dump = self.rpc.call("mrt.dump", file=self.lab.path("rib.mrt"))
        self.c.true("routes in the dump", dump["routes"] >= ROUTES, dump)
        self.keeld.must_run()

    def restart(self, what, sig):
        """Ends keeld (SIGSYS: by a forbidden system call), and starts another that adopts keelfwd."""
        before = self.sent()
        self.rpc.close()
        if sig == signal.SIGSYS:
            inject.inject(self.keeld.popen.pid, EXECVE)
            status = self.keeld.popen.wait(60)
        else:
            status = self.keeld.stop(sig=sig)
        self.c.equal("%s: keeld's exit status" % what, status, 0 if sig == signal.SIGTERM else -sig)
        wait_for("the end of BIRD's session", lambda: "Established" not in self.birdc("show", "protocols", "keel"), 30)
        self.c.true("%s: BIRD keeps our route" % what, self.at_bird())
        self.c.equal("%s: keelfwd goes on" % what, forwarder_pid(self.lab.path("fwd.sock")), self.pid)
        self.start()
        self.c.true("%s: adopted by the next keeld" % what, self.rpc.call("system.info")["forwarder"]["adopted"])
        wait_established(self.rpc, PEER)
        self.whole(what)
        wait_for("our route at BIRD", self.at_bird, 30)
        self.c.true("%s: workers forwarded meanwhile" % what, self.sent() > before)

    def hello(self):
        """keeld of any version has room for the answer: 8 bytes of head and 72 of struct forwarder_hello_answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(self.lab.path("fwd.sock"))
            s.send(struct.pack("=IIQI4x", 0x4B465744, 1, 0, 3))
            self.c.equal("bytes of the answer to HELLO", len(s.recv(65536)), 80)

    def deaf(self):
        """A client that reads no answers is closed, and keelfwd goes on."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(self.lab.path("fwd.sock"))
            try:
                for _ in range(100000):
                    s.send(struct.pack("=IIQI4x", 0x4B465744, 1, 0, 3))
                closed = False
            except TimeoutError:
                closed = False
            except OSError:
                closed = True
        self.c.true("a client that reads no answers is closed", closed)

    def late(self):
        """keelfwd stops for longer than keeld waits: keeld goes on, and later answers belong to their requests."""
        before = self.counted()
        os.kill(self.pid, signal.SIGSTOP)
        timer = threading.Timer(LATE_S, os.kill, (self.pid, signal.SIGCONT))
        timer.start()
        try:
            self.stats()
        finally:
            timer.join()
        self.c.comes_to("the counters of the ports after a late answer", self.counted, before)
        self.keeld.must_run()

    def counted(self):
        return [p["rx_packets"] > 1000 for p in self.rpc.call("dataplane.stats")["ports"]]

    def run(self):
        self.build()
        self.pid = forwarder_pid(self.lab.path("fwd.sock"))
        self.rights()
        self.priority()
        self.commit()
        self.probe = Probe(self.lab, (prefix(i)[:-1] + "1" for i in range(ROUTES)), ["up"], PPS)
        if inject.available():
            self.restart("a forbidden system call", signal.SIGSYS)
        for i in range(ROUNDS):
            self.restart("kill -9, %d" % i, signal.SIGKILL)
            self.restart("orderly stop, %d" % i, signal.SIGTERM)
        got = self.probe.end()
        print_losses(self.rpc, got)
        self.c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        self.deaf()
        self.hello()
        if LATE_S > 0:
            self.late()
        self.rpc.close()
        self.c.equal("SIGINT: keeld's exit status", self.keeld.stop(sig=signal.SIGINT), 0)
        wait_for("the end of our route at BIRD by Cease", lambda: not self.at_bird(), 30)
        os.kill(self.pid, signal.SIGTERM)
        wait_for("the end of keelfwd", lambda: process_gone(self.pid), 30)
        self.c.equal("the XDP programs are gone", [self.lab.sh("rt", "ip -o link show %s" % p).count("xdp") for p in ("west", "east")], [0, 0])


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
