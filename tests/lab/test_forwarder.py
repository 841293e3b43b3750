#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""keelfwd outlives keeld: kill -9, orderly stops and forbidden system calls of keeld under traffic lose and misdirect no packet, and BIRD keeps our route. keeld and keelfwd have the rights that keeld(8) names. KEEL_ROUNDS (1) sets how often each is repeated; keelfwd refuses other users, and a document that the user of
keeld can write gives keelfwd no code.

    src --- rt (keeld and keelfwd, AS 64512; AF_XDP ports west, east) --- up (BIRD, AS 64601)
"""
import json
import os
import pwd
import re
import signal
import socket
import struct
import sys
import time

import inject
import labtest
from labtest import KEELD, PROBE, Lab, Probe, need, out_folder, peer, wait_established, wait_for
from lab import cpus_of_lab, forwarder_pid, print_losses, run

NAME = "forwarder"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "1"))
PPS = int(os.environ.get("KEEL_PPS", "20000"))
ROUTES = int(os.environ.get("KEEL_ROUTES", "500"))
PEER = "198.18.2.2"
OURS = "203.0.113.0/24"
ABSENT = "198.18.2.99"  # a configured peer that is down
USER = 65534  # nobody
FORWARDER_USER = "daemon"  # exists on every Debian
STRANGER = 2  # bin
EXECVE = 59
HELLO, STOP, ASK = 1, 2, 3  # dataplane/process/forwarder_wire.h
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
                "peers": [{"address": PEER, "asn": 64601, "families": {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}},
                         {"address": ABSENT, "asn": 64699, "families": {"ipv4-unicast": {}}}]},
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
        self.plant_link()
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.keelfwd, self.forwarder = lab.keelfwd("rt", KEELD, "--keeld", str(USER), "--user", FORWARDER_USER)
        self.start()
        _, self.birdc = lab.bird("up", BIRD)
        wait_established(self.rpc, PEER)
        self.whole("the first table")


    def start(self):
        self.keeld, self.rpc = self.lab.keeld("rt", config(), KEELD, args=(*self.forwarder, "--user", "nobody"))

    def plant_link(self):
        """The user of keeld owns the state directory. keeld writes there with rights of root, and must not follow a link of the user."""
        state = self.lab.path("keeld.state")
        os.mkdir(state, 0o700)
        os.chown(state, USER, USER)
        self.victim = self.lab.write("victim", "of root")
        os.chmod(self.victim, 0o600)
        for name in ("host-%d" % os.stat("/run/netns/" + self.lab.netns("rt")).st_ino, "audit.log"):
            os.symlink(self.victim, os.path.join(state, name))

    def links(self):
        with open(self.victim) as f:
            self.c.equal("a file of root behind a link in the state directory", f.read(), "of root")
        os.unlink(os.path.join(self.lab.path("keeld.state"), "audit.log"))

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

    def stats_or_none(self):
        """[] while no keelfwd has workers."""
        return self.rpc.call("dataplane.stats")["workers"]

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
        u, mask = pwd.getpwnam(FORWARDER_USER), NET_ADMIN | NET_RAW | IPC_LOCK | BPF
        own = ("\t".join([str(u.pw_uid)] * 4), "\t".join([str(u.pw_gid)] * 4))
        self.c.equal("rights of all threads of keelfwd", self.status(self.pid), {(*own, 0, mask, mask, mask, 0, "1", "2")})

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
        dump = self.rpc.call("mrt.dump", file="rib.mrt")
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
        self.c.equal("%s: keelfwd goes on" % what, forwarder_pid(self.forwarder[1]), self.pid)
        self.start()
        self.c.true("%s: adopted by the next keeld" % what, self.rpc.call("system.info")["forwarder"]["adopted"])
        wait_established(self.rpc, PEER)
        self.whole(what)
        after_s = int(re.findall(r"forwarder-published after_ms=(\d+)", self.keeld.logged())[-1]) / 1000
        self.c.true("%s: published after %.1f s, without the peer that was down before" % (what, after_s), after_s < 60, after_s)
        wait_for("our route at BIRD", self.at_bird, 30)
        self.c.true("%s: workers forwarded meanwhile" % what, self.sent() > before)

    def stranger(self):
        """Another user who may write the socket is refused, also with all eight connections at once, and the connection of keeld stays. No role but
        that of keeld's main thread ends keelfwd."""
        program = """
import os, socket, struct, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
answers = 0
for _ in range(16):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10)
    try:
        s.connect(sys.argv[1])
        s.send(struct.pack("=IIQI4x", 0x4B465744, 1, 0, 3))
        answers += len(s.recv(65536)) > 0
    except ConnectionError:
        pass
print(answers)
"""
        sock, modes = self.forwarder[1], [(p, os.stat(p).st_mode & 0o7777) for p in (self.lab.dir, self.forwarder[1])]
        os.chmod(self.lab.dir, 0o711)
        os.chmod(sock, 0o666)
        self.c.equal("answers of keelfwd to another user", run(sys.executable, "-c", program, sock, str(STRANGER)).strip(), "0")
        for path, mode in modes:
            os.chmod(path, mode)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(sock)
            s.send(struct.pack("=IIQI4x", 0x4B465744, HELLO, 0, ASK))
            s.recv(65536)
            s.send(struct.pack("=II", 0x4B465744, STOP))
            self.c.equal("answer to STOP from a role that only asks", s.recv(65536), b"")
        self.c.equal("keelfwd goes on", forwarder_pid(sock), self.pid)

    def foreign_code(self):
        """The user of keeld writes an argument that loads code into FILE: keelfwd, which starts as root, refuses it."""
        document = dict(config(), ports=[dict(p, device="net_null%d" % i) for i, p in enumerate(config()["ports"])])
        document["dataplane"]["eal_args"] = ["-d", self.lab.path("evil.so")]
        path = self.lab.write("evil.json", json.dumps(document))
        os.chown(path, USER, USER)
        p = self.lab.spawn("evil", "rt", [KEELD, "-c", path, "--socket", self.lab.path("evil.sock"), "--state-dir", self.lab.path("evil.state"), "--user", "nobody", "--forwarder-user", FORWARDER_USER])
        self.c.equal("a document of the user of keeld with code for keelfwd: exit status", p.popen.wait(60), 1)
        with open(p.log) as f:
            log = f.read()
        self.c.true("the log names the argument and the remedy", "keelfwd refuses `-d`" in log and "--permit" in log, log)

    def hello(self):
        """keeld of any version has room for the answer: 8 bytes of head and 72 of struct forwarder_hello_answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(self.forwarder[1])
            s.send(struct.pack("=IIQI4x", 0x4B465744, 1, 0, 3))
            self.c.equal("bytes of the answer to HELLO", len(s.recv(65536)), 80)

    def deaf(self):
        """A client that reads no answers is closed, and keelfwd goes on."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(self.forwarder[1])
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
        """keelfwd stops for longer than keeld waits: keeld waits once, and later answers belong to their requests. Many requests end neither of both."""
        before, begin = self.counted(), time.monotonic()
        os.kill(self.pid, signal.SIGSTOP)
        try:
            for _ in range(40):
                self.stats()
            self.rpc.call("config.edit", merge={"ports": config()["ports"][:1]})
            try:
                self.rpc.call("config.commit")
                self.c.true("a commit of ports is refused", False)
            except RuntimeError as e:
                self.c.true("a commit of ports is refused", "keelfwd does not answer" in str(e), str(e))
            took = time.monotonic() - begin
        finally:
            os.kill(self.pid, signal.SIGCONT)
        self.rpc.call("config.discard")
        self.c.true("keeld waits once for a keelfwd that does not answer", took < 8, took)
        self.c.comes_to("the counters of the ports after a late answer", self.counted, before)
        self.keeld.must_run()
        self.c.equal("... the same keelfwd", forwarder_pid(self.forwarder[1]), self.pid)
        self.whole("a keelfwd that stood still")

    def killed(self):
        """keelfwd is killed, and starts again as its unit does: keeld, a user without rights, gives the ports and the tables to the next one."""
        begin = time.monotonic()
        self.keelfwd.stop(sig=signal.SIGKILL)
        self.keelfwd, self.forwarder = self.lab.keelfwd("rt", KEELD, "--keeld", str(USER), "--user", FORWARDER_USER)
        wait_for("packets to a neighbour", lambda: (self.lab.sh("src", "ping -n -c 1 -W 0.05 " + PEER, check=False), self.stats_or_none() and self.sent() > 0)[1], 60, poll=0)
        self.c.true("keelfwd is killed: packets flow after %.1f s" % (time.monotonic() - begin), True)
        self.keeld.must_run()
        self.whole("a keelfwd that was killed")

    def counted(self):
        return [p["rx_packets"] > 1000 for p in self.rpc.call("dataplane.stats")["ports"]]

    def run(self):
        self.build()
        self.pid = forwarder_pid(self.forwarder[1])
        self.links()
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
        self.stranger()
        self.foreign_code()
        self.deaf()
        self.hello()
        self.late()
        self.killed()
        self.rpc.close()
        self.c.equal("SIGINT: keeld's exit status", self.keeld.stop(sig=signal.SIGINT), 0)
        wait_for("the end of our route at BIRD by Cease", lambda: not self.at_bird(), 30)
        self.c.equal("SIGTERM: keelfwd's exit status", self.keelfwd.stop(), 0)
        self.c.equal("the XDP programs are gone", [self.lab.sh("rt", "ip -o link show %s" % p).count("xdp") for p in ("west", "east")], [0, 0])


def test(checks):
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
