#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""The main job, end to end: two BIRD upstreams with a full table each, keeld between them and a sending host, policy changes for a
third of the tables of both families, withdrawals, refreshes both ways and a failing link, while numbered packets flow; two customers are asked
what they were told. Called by scripts/demo; writes build/demo/report.json and report.html.

    src ------ rt (keeld) ---- ua (BIRD, AS 64601) ---- ra (receives; feeds speak to ua from here)
    fr (FRR) --/   |   \\------ ub (BIRD, AS 64602) ---- rb
                gb (GoBGP)
"""
import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", d) for d in ("lab", "interop", "bench")]
from daemons import Frr, GoBgp, Session, Setup  # noqa: E402
from lab import PATIENCE_S, SELF_CLOCKED, Hugepages, Lab, Machine, Rpc, cpus_of_lab, forwarder_of, memory_kb, run, wait_for  # noqa: E402
from report import STYLE, html_table, html_verdict, mark_legend, mark_lines, value_text  # noqa: E402

# Origin ASes that end in 00 to 32: a third of all origins.
THIRD = "([0-2][0-9]|3[0-2])$"
A, B = 1, 2  # bits of the probe's ports
REST_S = 4
PRIVILEGES = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")
BURST = 10  # requests of each upstream and family


class Progress:
    """Progress: a line redrawn on a terminal; elsewhere a line for each step."""

    def __init__(self):
        self.tty, self.start, self.last = sys.stderr.isatty(), time.monotonic(), ""

    def __call__(self, text):
        line = "%6.1f s  %s" % (time.monotonic() - self.start, text)
        if self.tty:
            sys.stderr.write("\r\033[K" + line[:118])
        elif text != self.last:
            sys.stderr.write(line + "\n")
        self.last = text
        sys.stderr.flush()

    def end(self):
        if self.tty:
            sys.stderr.write("\n")


def bird_config(router_id, asn, feed_net, link_net):
    """A router of an upstream: receives a table from `feed` in each family, and announces the whole table to keel. The sessions are multihop, so
    that they survive a short failure of the link."""
    def channels(family, host, feed_keel, link):
        return """
protocol bgp feed%s { local %s as %d; neighbor %s as %d; direct; passive; hold time 90;
  %s { import all; export none; gateway direct; }; }
protocol bgp keel%s { local %s as %d; neighbor %s as 64512; multihop 2; hold time 90; connect retry time 1; connect delay time 1;
  error wait time 1, 2; %s { import none; export where proto = "feed%s"; next hop self; }; }
""" % (family[-1], feed_keel + host[0], asn, feed_keel + host[1], asn, family, family[-1], link + host[1], asn, link + host[0], family, family[-1])
    return ("log stderr { info, warning, error, fatal };\nrouter id %s;\nprotocol device { }\n" % router_id
            + channels("ipv4", "12", "198.18.%d." % feed_net, "198.18.%d." % link_net)
            + channels("ipv6", "12", "2001:db8:%d::" % feed_net, "2001:db8:%d::" % link_net))


# (name of the port, net): keel is .1 and ::1 in each.
PORTS = (("east", 0), ("upa", 1), ("upb", 2), ("frr", 3), ("gobgp", 4))
UPSTREAMS = (("a", 64601, 1), ("b", 64602, 2))
# FRR receives all routes, GoBGP the third: GoBGP needs some ten times the processor time of the others for a route.
CUSTOMERS = (("frr", 64701, 3, "to-customer"), ("gobgp", 64702, 4, "to-partner"))
FAMILIES = ("ipv4-unicast", "ipv6-unicast")


def address(family, net, host):
    return ("198.18.%d.%d" if family == "ipv4-unicast" else "2001:db8:%d::%d") % (net, host)


def keel_config(worker, control, memory_mb):
    def peer(asn, family, net, host, policy):
        # a failed link shows how packets leave it while the sessions stay
        return {"address": address(family, net, host), "asn": asn, "enforce_first_as": False, "link_sensitive": False, "families": {family: policy}}

    peers = []
    for family in FAMILIES:
        for name, asn, net in UPSTREAMS:
            peers.append(peer(asn, family, net, 2, {"import_policy": "from-" + name, "export_policy": "to-upstream"}))
        for _, asn, net, policy in CUSTOMERS:
            peers.append(peer(asn, family, net, 2, {"import_policy": "deny-all", "export_policy": policy}))
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": memory_mb},
        "ports": [{"name": name, "device": "net_af_xdp_%s,iface=%s" % (name, name),
                   "addresses": ["198.18.%d.1/24" % net, "2001:db8:%d::1/64" % net]} for name, net in PORTS],
        "as_path_lists": [{"name": "third", "entries": [{"action": "permit", "regex": THIRD}]}],
        "route_policies": [
            {"name": "from-a", "nodes": [{"seq": 20, "action": "permit", "match": {}, "set": {"local_pref": 100}}]},
            {"name": "from-b", "nodes": [{"seq": 20, "action": "permit", "match": {}, "set": {"local_pref": 90}}]},
            # routes of each upstream advertised to the other: the third
            {"name": "to-upstream", "nodes": [{"seq": 10, "action": "permit", "match": {"as_path_list": "third"}}]},
            {"name": "to-customer", "nodes": [{"seq": 20, "action": "permit", "match": {}}]},
            {"name": "to-partner", "nodes": [{"seq": 20, "action": "permit", "match": {"as_path_list": "third"}}]}],
        "bgp": {"peers": peers},
    }


# A third of the table is preferred through B.
MOVE = [{"op": "add", "path": "/route_policies/1/nodes/0",
         "value": {"seq": 10, "action": "permit", "match": {"as_path_list": "third"}, "set": {"local_pref": 200}}}]
MOVE_BACK = [{"op": "remove", "path": "/route_policies/1/nodes/0"}]
# The third is hidden from the customers.
HIDE = [{"op": "add", "path": "/route_policies/%d/nodes/0" % n, "value": {"seq": 10, "action": "deny", "match": {"as_path_list": "third"}}}
        for n in (3, 4)]
SHOW = [{"op": "remove", "path": "/route_policies/%d/nodes/0" % n} for n in (3, 4)]


class Table:
    """The table of a feed: (address, length, origin) in the order of announcement, and the number of prefixes in each part."""

    def __init__(self, path, afi):
        self.afi, self.bits = afi, 32 if afi == socket.AF_INET else 128
        self.entries = []
        with open(path) as f:
            for line in f:
                prefix, origin = line.split()
                addr, length = prefix.split("/")
                self.entries.append((int.from_bytes(socket.inet_pton(afi, addr), "big"), int(length), origin))
        third = re.compile(THIRD)
        self.prefixes = {(a, n): i for i, (a, n, _) in enumerate(self.entries)}
        self.size = len(self.prefixes)
        self.third = sum(1 for i in self.prefixes.values() if third.search(self.entries[i][2]))
        self.tenth = len({(a, n) for i, (a, n, _) in enumerate(self.entries) if i % 10 == 3})

    def draw(self, count, rng):
        """Lines `ADDRESS CLASS`, drawn over the whole table, each with the class of its longest match: bit 0: in the third; bit 1: in the tenth
        withdrawn by A."""
        lengths = sorted({n for _, n, _ in self.entries}, reverse=True)
        third = re.compile(THIRD)
        for _ in range(count):
            a, n, _ = self.entries[rng.randrange(len(self.entries))]
            addr = a + (rng.randrange(1 << (self.bits - n)) if n < self.bits else 0)
            keys = ((addr >> (self.bits - m) << (self.bits - m), m) for m in lengths)
            index = next(self.prefixes[key] for key in keys if key in self.prefixes)
            cls = bool(third.search(self.entries[index][2])) | (index % 10 == 3) << 1
            yield "%s %d\n" % (socket.inet_ntop(self.afi, addr.to_bytes(self.bits // 8, "big")), cls)


def masks(moved, withdrawn):
    """The right ports of each class: third through B when moved, the withdrawn tenth through B."""
    return [B if (c & 1 and moved) or (c & 2 and withdrawn) else A for c in range(4)]


class Sampler(threading.Thread):
    """FIB generation over time, read on a separate connection."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.rpc, self.samples, self.over = Rpc(sock), [], threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            try:
                self.samples.append((time.time(), self.rpc.call("system.info")["generation"]))
            except (OSError, RuntimeError, ValueError):
                return


class Demo:
    def __init__(self, args, lab, say, binaries, out, worker, others):
        self.args, self.lab, self.say, self.bin, self.out = args, lab, say, binaries, out
        self.worker, self.others = worker, others
        self.mismatches = self.audits = self.refreshes_in = self.refreshes_out = 0
        self.tables, self.feeds, self.birdc, self.durations = {}, {}, {}, {}

    # ---- lab ----

    def build_lab(self):
        lab = self.lab
        for h, forward in (("src", False), ("rt", False), ("ua", True), ("ub", True), ("ra", False), ("rb", False), ("fr", False), ("gb", False)):
            lab.host(h, forward, ipv6=True)
        for (port, net), (host, dev) in zip(PORTS, (("src", "eth0"), ("ua", "up"), ("ub", "up"), ("fr", "eth0"), ("gb", "eth0"))):
            lab.link(host, dev, self.both(net, 2), "rt", port, None)
        for host, upstream, net in (("ra", "ua", 11), ("rb", "ub", 12)):
            lab.link(host, "eth0", self.both(net, 2), upstream, "down", self.both(net, 1))
            lab.sh(upstream, "ip route add default via 198.18.%d.2; ip -6 route add default via 2001:db8:%d::2" % (net, net))
        lab.sh("src", "ip route add default via 198.18.0.1; ip -6 route add default via 2001:db8:0::1")
        for host, dev in (("ua", "up"), ("ub", "up")):
            lab.sh(host, "sysctl -qw net.ipv6.conf.%s.keep_addr_on_down=1" % dev)
        for name, asn, net in UPSTREAMS:
            _, self.birdc[name] = lab.bird("u" + name, bird_config("198.18.%d.2" % net, asn, 10 + net, net))

    @staticmethod
    def both(net, host):
        return ["198.18.%d.%d/24" % (net, host), "2001:db8:%d::%d/64" % (net, host)]

    def table_arguments(self, family):
        flag = ["--ipv6"] if family == "ipv6-unicast" else []
        if self.args.mrt:
            return flag + ["--mrt", self.args.mrt]
        return flag + ["--count", str(self.args.prefixes // 5 if flag else self.args.prefixes)]

    def start_feeds(self):
        rng = random.Random(7)
        lines = []
        for family, afi in zip(FAMILIES, (socket.AF_INET, socket.AF_INET6)):
            listing = os.path.join(self.lab.dir, family + ".txt")
            run(self.bin["feed"], *self.table_arguments(family), "--list", listing)
            for name, asn, net in UPSTREAMS:
                self.feeds[name, family] = self.lab.spawn(
                    "feed-%s-%s" % (name, family[:4]), "r" + name,
                    [self.bin["feed"], *self.table_arguments(family), "--connect", address(family, 10 + net, 1),
                     "--source", address(family, 10 + net, 2), "--asn", str(asn), "--peer-asn", str(asn)], lines=True)
            self.tables[family] = Table(listing, afi)
            lines += self.tables[family].draw(20000 if afi == socket.AF_INET else 10000, rng)
        rng.shuffle(lines)
        self.destinations = self.lab.write("destinations.txt", "".join(lines))
        for feed in self.feeds.values():
            self.feed_done(feed, "table")

    def feed_done(self, feed, command):
        while True:
            line = feed.line(300)
            if line is None:
                raise RuntimeError("%s ended: see %s" % (feed.name, feed.log))
            e = json.loads(line)
            if e["event"] == "down":
                raise RuntimeError("%s: session lost: %s" % (feed.name, line.strip()))
            if e["event"] == "done" and e.get("command") == command:
                return

    def start_customers(self):
        self.customers = {}
        for (name, asn, net, _), kind, host in zip(CUSTOMERS, (Frr, GoBgp), ("fr", "gb")):
            sessions = [Session(f, address(f, net, 2), address(f, net, 1), 64512, (f,)) for f in FAMILIES]
            self.customers[name] = kind(self.lab, host).start(Setup(asn, "198.18.%d.2" % net, sessions))

    def told(self, name, family):
        """Number of received routes as reported by the customer."""
        daemon, remote = self.customers[name], address(family, {n: net for n, _, net, _ in CUSTOMERS}[name], 1)
        if name == "frr":
            summary = json.loads(daemon.vty("show bgp %s unicast summary json" % family[:4]))
            return summary.get("peers", {}).get(remote, {}).get("pfxRcd", 0)
        state = json.loads(daemon.gobgp("-j", "neighbor", remote))
        return sum(a.get("state", {}).get("received", 0) for a in state.get("afi_safis", []))

    # ---- keeld ----

    def peers(self):
        return {p["address"]: p for p in self.rpc.call("bgp.peers")["peers"]}

    def wait_accepted(self, what, less=None, timeout=600):
        """Waits until both upstreams' tables are accepted; A's table without `less` prefixes of each family."""
        less = less or dict.fromkeys(FAMILIES, 0)
        want = {address(f, net, 2): self.tables[f].size - (less[f] if name == "a" else 0) for f in FAMILIES for name, _, net in UPSTREAMS}

        def there():
            peers = self.peers()
            now = {a: sum(f["accepted"] for f in peers[a]["families"].values()) for a in want}
            self.say("%s: %d of %d routes accepted" % (what, sum(now.values()), sum(want.values())))
            return now == want
        wait_for("%s accepted routes" % want, there, timeout, poll=0.1)

    def wait_customers(self, what, hidden, timeout=600):
        """Waits until each customer reports the expected number of routes."""
        for family in FAMILIES:
            third = self.tables[family].third
            for name in self.customers:
                want = (0 if hidden else third) if name == "gobgp" else self.tables[family].size - (third if hidden else 0)
                def there():
                    now = self.told(name, family)
                    self.say("%s: %s has %d of %d %s routes" % (what, name, now, want, family))
                    return now == want
                wait_for("%d %s routes at %s" % (want, family, name), there, timeout, poll=0.2)

    def audit(self, what):
        self.say(what + ": auditing the workers' tables against the RIB")
        r = self.rpc.call("fib.audit", limit=20)
        self.mismatches += r["mismatch_count"]
        self.audits += 1
        if r["mismatch_count"]:
            sys.stderr.write("\naudit after %s: %s\n" % (what, json.dumps(r["mismatches"][:5])))

    def wait_job(self, what, job, timeout=600, unanswered=0):
        """Waits for the end of a job, or until only `unanswered` of its peers are left."""
        def ended():
            j = self.rpc.call("jobs.get", id=job)
            self.say("%s: job %d %s, %d of %d" % (what, job, j["state"], j["done"], j["total"]))
            return j if j["state"] != "running" or (unanswered and j["done"] >= j["total"] - unanswered) else None
        j = wait_for("end of job %d" % job, ended, timeout, poll=0.1)
        if j["state"] == "failed":
            raise RuntimeError("%s: job failed: %s" % (what, json.dumps(j)))

    def start_keeld(self):
        config = keel_config(self.worker, self.others, 1024)
        cpus = self.others + [self.worker]
        if self.args.as_unit:
            self.daemon, self.rpc, self.sock = self.lab.keeld_unit(self.args.as_unit, "rt", config, cpus)
        else:
            self.daemon, self.rpc = self.lab.keeld("rt", config, self.bin["keeld"], cpus=cpus)
            self.sock = os.path.join(self.lab.dir, "keeld.sock")

    # ---- probe ----

    def probe_say(self, text):
        self.probe.say(text)
        answer = self.probe.line(30)
        if not answer or not answer.startswith("ok"):
            raise RuntimeError("probe: %s: %s" % (text, answer))

    def start_probe(self):
        self.probe = self.lab.spawn("probe", None, [self.bin["probe"], "--from", self.lab.netns("src"), "--to", self.lab.netns("ra") + ":eth0",
                                                    "--to", self.lab.netns("rb") + ":eth0", "--destinations", self.destinations,
                                                    "--pps", str(self.args.pps), *(SELF_CLOCKED if self.args.quick else []), "--out", self.out], lines=True)
        self.machine = Machine(self.lab, self.probe.popen.pid)

    def set_masks(self, ports):
        for c, mask in enumerate(ports):
            self.probe_say("mask %d %d" % (c, mask))

    def change(self, name, after, action, phase="storm"):
        """Runs a change: meanwhile both the old and the new port of a class are right, before and after only one."""
        self.say(name)
        both = [x | y for x, y in zip(self.now, after)]
        self.set_masks(both)
        self.probe_say("phase " + phase)
        self.probe_say("mark " + name)
        begin = time.monotonic()
        action()
        self.durations[name] = round(time.monotonic() - begin, 3)
        self.audit(name)
        self.probe_say("phase rest")
        self.set_masks(after)
        self.now = after
        self.rest("after " + name)

    def rest(self, what):
        """Traffic alone for a while: the time is the measurement."""
        for left in range(self.args.rest_s, 0, -1):
            self.say("%s: at rest, %d s to go" % (what, left))
            if not self.daemon.running():
                raise RuntimeError("keeld ended: see %s" % self.daemon.log)
            threading.Event().wait(1)

    # ---- the changes ----

    def commit(self, patch, effect):
        self.rpc.call("config.edit", patch=patch)
        r = self.rpc.call("config.commit", comment="demo")
        if not r["effects"]:
            raise RuntimeError("the commit had no effect")
        for e in r["effects"]:
            if e["effect"] != effect:
                raise RuntimeError("unexpected effect: %s" % json.dumps(e))
            if e.get("job"):
                self.wait_job("policy", e["job"])
        return len(r["effects"])

    def move(self, patch):
        self.refreshes_in += self.commit(patch, "route-refresh-sent")

    def export_change(self, patch, hidden):
        self.refreshes_out += self.commit(patch, "readvertised")
        self.wait_customers("export policy", hidden)

    def manual_refresh(self):
        jobs = []
        for words in ([], ["ipv6"]):
            out = json.loads(run(self.bin["keelctl"], "--socket", self.sock, "--json", "refresh", "bgp", *words, "external", "import"))
            jobs.append(out["job"])
            self.refreshes_in += len(out["peers"])
        # A whole job lasts 30 s: GoBGP has no route to announce, and no enhanced refresh to say so. The quick demo waits for the other peers.
        for job in jobs:
            self.wait_job("refresh", job, unanswered=1 if self.args.quick else 0)

    def feeds_say(self, command, every, offset):
        for family in FAMILIES:
            self.feeds["a", family].say("%s %d %d" % (command, every, offset))
        for family in FAMILIES:
            self.feed_done(self.feeds["a", family], command)

    def withdraw(self):
        self.feeds_say("withdraw", 10, 3)
        self.wait_accepted("withdraw", {f: self.tables[f].tenth for f in FAMILIES})

    def announce(self):
        self.feeds_say("announce", 10, 3)
        self.wait_accepted("announce")

    def refresh_counts(self):
        """(requests received, answered) of the upstreams."""
        peers, received, answered = self.peers(), 0, 0
        for family in FAMILIES:
            for _, _, net in UPSTREAMS:
                r = peers[address(family, net, 2)]["families"][family]["refresh"]
                received += r["requests_received"]
                answered += r["served"] + r["coalesced"]
        return received, answered

    def burst(self):
        """Both upstreams request all routes again, many times without waiting. Each request is answered by a later walk."""
        before, _ = self.refresh_counts()
        asked = 0
        for _ in range(BURST):
            for name, _, _ in UPSTREAMS:
                for protocol in ("keel4", "keel6"):
                    self.birdc[name]("reload", "in", protocol)
                    asked += 1

        def served():
            received, answered = self.refresh_counts()
            self.say("ROUTE-REFRESH from both upstreams: %d of %d asked, %d answered" % (received - before, asked, answered - before))
            # BIRD joins requests while it waits for an answer
            return received - before >= 4 and answered == received
        wait_for("answers to the upstreams' refreshes", served, 300, poll=0.2)
        self.refreshes_out += self.refresh_counts()[0] - before

    def forwards_by(self, net):
        """True if 64 prefixes of each table, from the first to the last, are forwarded to this upstream: the shard evaluates a table in slices."""
        for table in self.tables.values():
            for i in range(64):
                a, n, _ = table.entries[i * (len(table.entries) - 1) // 63]
                text = socket.inet_ntop(table.afi, (a | (1 if n < table.bits else 0)).to_bytes(table.bits // 8, "big"))
                paths = self.rpc.call("fib.lookup", address=text)["paths"]
                if not paths or paths[0]["port"] != dict((n, p) for p, n in PORTS)[net] or paths[0]["state"] != "up":
                    return False
        return True

    def link_down(self):
        self.lab.sh("ua", "ip link set dev up down")
        wait_for("the RIB to leave A", lambda: self.forwards_by(2), 120)

    def link_up(self):
        self.lab.sh("ua", "ip link set dev up up")
        wait_for("the RIB to come back to A", lambda: self.forwards_by(1), 120)

    # ---- the run ----

    def drive(self):
        self.now = masks(False, False)
        self.start_probe()
        self.set_masks(self.now)
        self.probe_say("mark start")
        self.rest("start")
        same = masks(False, False)
        self.change("move a third to B", masks(True, False), lambda: self.move(MOVE))
        self.change("move it back", same, lambda: self.move(MOVE_BACK))
        self.change("A withdraws a tenth", masks(False, True), self.withdraw)
        self.change("A announces it again", same, self.announce)
        self.change("refresh all import", same, self.manual_refresh)
        self.change("export: hide a third from the customers", same, lambda: self.export_change(HIDE, True))
        self.change("export: show it again", same, lambda: self.export_change(SHOW, False))
        self.change("ROUTE-REFRESH from both upstreams", same, self.burst)
        self.change("the link to A fails", [B] * 4, self.link_down, phase="link")
        self.change("the link to A is back", same, self.link_up)

    def main(self):
        say = self.say
        begin = time.monotonic()
        say("building the lab")
        self.build_lab()
        say("feeding two upstreams")
        self.start_feeds()
        say("starting keeld")
        self.start_keeld()
        self.start_customers()
        self.wait_accepted("loading")
        self.durations["load"] = round(time.monotonic() - begin, 3)
        self.wait_customers("loading", False)
        self.durations["load with customers"] = round(time.monotonic() - begin, 3)
        self.audit("load")
        before = self.peers()
        sampler = Sampler(self.sock)
        sampler.start()
        self.rpc.call("dataplane.stats.reset")
        self.drive()
        say("waiting for the last packets")
        self.cpu = self.cpu_seconds()
        self.probe.say("stop")
        self.probe.popen.wait(PATIENCE_S)
        sampler.over.set()
        self.after = self.peers()
        self.stats, self.fib = self.rpc.call("dataplane.stats"), self.rpc.call("fib.stats")
        self.summary = self.rpc.call("rib.summary")
        dropped = sum(max(0, p["established_count"] - before[a]["established_count"]) + (p["state"] != "established")
                      for a, p in self.after.items())
        return self.report(dropped, sampler.samples, time.monotonic() - begin)

    def losses(self, probe):
        """Possible places of lost packets, each with its own count."""
        where = {"router drops: " + k: v for w in self.stats["workers"] for k, v in w["drops"].items() if v}
        for p in self.stats["ports"]:
            for key in ("rx_missed", "tx_dropped", "xdp_rx_dropped", "xdp_rx_ring_full"):
                if p[key]:
                    where["router port %s: %s" % (p["name"], key)] = p[key]
        for host, dev in [("src", "eth0"), ("ua", "up"), ("ua", "down"), ("ub", "up"), ("ub", "down"), ("ra", "eth0"), ("rb", "eth0"),
                          *(("rt", name) for name, _ in PORTS)]:
            link = json.loads(self.lab.sh(host, "ip -json -s link show dev " + dev))[0]["stats64"]
            for way in ("rx", "tx"):
                if link[way]["dropped"]:
                    where["%s %s %s_dropped" % (host, dev, way)] = link[way]["dropped"]
        for p in probe["ports"]:
            if p["receiver_overflow"]:
                where["receiver %s overflow" % p["to"]] = p["receiver_overflow"]
        return where

    def report(self, dropped, samples, wall):
        with open(os.path.join(self.out, "probe.json")) as f:
            probe = json.load(f)
        r = {
            "prefixes": {"ipv4": self.tables["ipv4-unicast"].size, "ipv6": self.tables["ipv6-unicast"].size},
            "refreshes": {"in": self.refreshes_in, "out": self.refreshes_out},
            "sessions_dropped": dropped,
            "packets": {k: probe[k] for k in ("sent", "received", "lost", "misdirected", "reordered")},
            "longest_gap_us": probe["longest_gap_us"],
            "latency_us": probe["latency_us"],
            "audit_mismatches": self.mismatches,
            "fib_generations": self.fib["generation"],
            "policy_moved_prefixes": sum(t.third for t in self.tables.values()),
            "wall_s": round(wall, 1),
            "lost_where": self.losses(probe) if probe["lost"] else {},
            "stalls": self.machine.stop().stalls(probe),
            "link_failure": probe["link_failure"],
            "packets_sent_ipv6": probe["sent_ipv6"],
            "audits": self.audits,
            "durations_s": self.durations,
            "pps": self.args.pps,
            "hugepages": self.args.huge,
            "loop_gap_ns": self.stats["workers"][0]["loop_gap_ns"],
            "update_to_fib_ns": self.fib["update_to_fib_ns"],
            "commit_ns": self.fib["commit_ns"], "grace_ns": self.fib["grace_ns"],
            "link_ns": self.fib.get("link_ns"),
            "tables": self.summary["tables"],
            "resident_bytes": self.resident(),
            "privileges": self.privileges(),
            "cpu_s": self.cpu,
            "longest_gap_at_s": probe["longest_gap_at_s"],
        }
        with open(os.path.join(self.out, "report.json"), "w") as f:
            json.dump(r, f, indent=2)
            f.write("\n")
        with open(os.path.join(self.out, "generations.csv"), "w") as f:
            f.writelines("%.1f %d\n" % (t - probe["start_s"], g) for t, g in samples)
        write_html(self.out, r, probe["marks"])
        return r

    def cpu_seconds(self):
        """CPU seconds of the threads of keeld and keelfwd, and of all other processes since their start."""
        ticks, out = os.sysconf("SC_CLK_TCK"), {}
        for p in self.lab.processes:
            if not p.running():
                continue
            for pid in (p.popen.pid, forwarder_of(self.rpc)) if p is self.daemon else (p.popen.pid,):
                for task in os.listdir("/proc/%d/task" % pid):
                    with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
                        head, fields = f.read().rsplit(")", 1)
                    key = head.split("(", 1)[1] if p is self.daemon else p.name
                    fields = fields.split()
                    out[key] = out.get(key, 0) + (int(fields[11]) + int(fields[12])) / ticks
        return {k: round(v, 2) for k, v in sorted(out.items()) if v >= 0.01}

    def privileges(self):
        """Each distinct set of privileges of keeld's threads, as the kernel shows it."""
        seen = []
        for task in os.listdir("/proc/%d/task" % self.daemon.popen.pid):
            with open("/proc/%d/task/%s/status" % (self.daemon.popen.pid, task)) as f:
                status = dict(line.split(":", 1) for line in f)
            row = {k: " ".join(status[k].split()) for k in PRIVILEGES}
            if row not in seen:
                seen.append(row)
        return seen

    def resident(self):
        return memory_kb(self.daemon.popen.pid) * 1024


def plot(out, name, title, ylabel, lines, marks, log=False):
    script = ["set terminal svg size 1000,280 background '#ffffff'", "set output '%s.svg'" % name, "set title '%s'" % title,
              "set xlabel 'seconds'", "set ylabel '%s'" % ylabel, "set key outside right top", "set grid"]
    if log:
        script.append("set logscale y")
    script += mark_lines(marks)
    script.append("plot " + ", ".join(lines))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, cwd=out, check=True, stderr=subprocess.PIPE)
    with open(os.path.join(out, name + ".svg")) as f:
        svg = f.read()
    return svg[svg.index("<svg"):]


def write_html(out, r, marks):
    svgs = [plot(out, "loss", "Packets sent, lost and misdirected, by tenth of a second", "packets",
                 ["'probe.csv' using 1:2 with lines title 'sent'", "'' using 1:3 with impulses lw 2 title 'lost'",
                  "'' using 1:4 with impulses lw 2 title 'misdirected'"], marks),
            plot(out, "latency", "Latency by tenth of a second", "us",
                 ["'probe.csv' using 1:7 with lines title 'max'", "'' using 1:6 with lines title 'p99'",
                  "'' using 1:5 with lines title 'p50'"], marks, log=True),
            plot(out, "generations", "FIB generation", "number", ["'generations.csv' using 1:2 with lines title 'generation'"], marks)]
    bad = failures(r)
    with open(os.path.join(out, "report.html"), "w") as f:
        f.write("<!doctype html><meta charset='utf-8'><title>Keel demo</title><style>%s</style><h1>Keel demo</h1>%s%s\n%s%s\n<h2>Details</h2>%s\n" % (
            STYLE, html_verdict(not bad, verdict(r)), html_table([], table_rows(r)), "".join(svgs), mark_legend(marks), details(r)))


def details(r):
    """All other figures of report.json, as tables."""
    parts = []
    for title, key, unit in (("Seconds of each change", "durations_s", "s"), ("Processor time", "cpu_s", "s"), ("Lost where", "lost_where", "packets"),
                             ("Link failure", "link_failure", "")):
        if r.get(key):
            parts.append("<h3>%s</h3>" % title + html_table([], [[k, ("%s %s" % (value_text(v), unit)).strip()] for k, v in r[key].items()]))
    histograms = [(k, r[k]) for k in ("loop_gap_ns", "update_to_fib_ns", "commit_ns", "grace_ns", "link_ns") if r.get(k)]
    columns = [c for c in ("count", "min", "p50", "p90", "p99", "p999", "max") if any(c in h for _, h in histograms)]
    parts.append("<h3>Times inside keeld, ns</h3>" + html_table(["", *columns], [[k, *(value_text(h.get(c)) for c in columns)] for k, h in histograms]))
    keys = list(dict.fromkeys(k for t in r["tables"] for k in t))
    parts.append("<h3>RIB</h3>" + html_table(keys, [[value_text(t.get(k)) for k in keys] for t in r["tables"]]))
    return "".join(parts)


def failures(r, status=0):
    return [k for k, v in (("sessions dropped", r["sessions_dropped"]), ("packets lost", r["packets"]["lost"]), ("packets misdirected", r["packets"]["misdirected"]), ("stalls", len(r["stalls"])),
                           ("audit mismatches", r["audit_mismatches"]), ("keeld's exit status", status)) if v != 0]


def verdict(r, status=0):
    bad = failures(r, status)
    if bad:
        return "FAILED: " + ", ".join(bad)
    return "all zeros: no session dropped, no packet lost or misdirected, no audit mismatch"


def keeld_share(cpu):
    ours = sum(v for k, v in cpu.items() if k.startswith("keel") and "worker" not in k)
    return ours, sum(v for k, v in cpu.items() if "worker" not in k)


def table_rows(r):
    p, lat = r["packets"], r["latency_us"]
    return [
        ("prefixes IPv4 + IPv6, from each of two upstreams", "%d + %d" % (r["prefixes"]["ipv4"], r["prefixes"]["ipv6"])),
        ("prefixes that the policy moved", "%d" % r["policy_moved_prefixes"]),
        ("refreshes in / out", "%d / %d" % (r["refreshes"]["in"], r["refreshes"]["out"])),
        ("sessions dropped", "%d" % r["sessions_dropped"]),
        ("packets sent / received / of them IPv6 sent", "%d / %d / %d" % (p["sent"], p["received"], r["packets_sent_ipv6"])),
        ("packets lost", "%d" % p["lost"] + "".join("; %s %d" % kv for kv in r["lost_where"].items())),
        ("packets misdirected / reordered", "%d / %d" % (p["misdirected"], p["reordered"])),
        ("lost by the link failure itself, over", "%d, %.1f ms" % (r["link_failure"]["lost"], r["link_failure"]["duration_us"] / 1000)),
        ("longest gap between arrivals", "%.0f us" % r["longest_gap_us"]),
        ("latency at rest p50 / p99 / p99.9 / max", " / ".join("%.0f" % lat["rest"][k] for k in ("p50", "p99", "p999", "max")) + " us"),
        ("latency during changes", " / ".join("%.0f" % lat["storm"][k] for k in ("p50", "p99", "p999", "max")) + " us"),
        ("FIB generations / audits / mismatches", "%d / %d / %d" % (r["fib_generations"], r["audits"], r["audit_mismatches"])),
        ("hugepages", "yes" if r["hugepages"] else "no"),
        ("processor time of keeld's threads, but the worker's", "%.0f s of %.0f s of all" % keeld_share(r["cpu_s"])),
        ("wall", "%.0f s" % r["wall_s"]),
    ]


def main():
    ap = argparse.ArgumentParser(prog="scripts/demo")
    ap.add_argument("--quick", action="store_true", help="50,000 IPv4 and 10,000 IPv6 prefixes")
    ap.add_argument("--mrt", metavar="FILE", help="the table of a TABLE_DUMP_V2 dump")
    ap.add_argument("--keep", action="store_true", help="leave the lab running until Ctrl-C")
    ap.add_argument("--no-huge", action="store_true", help="without hugepages")
    ap.add_argument("--prefixes", type=int, default=0, help="another number of IPv4 prefixes; of IPv6 a fifth")
    ap.add_argument("--pps", type=int, default=10000, help="packets a second (default %(default)s); with --quick at most, and fewer on a slow machine")
    ap.add_argument("--rest-s", type=int, default=REST_S, help="seconds at rest between changes (default %d)" % REST_S)
    ap.add_argument("--as-unit", metavar="UNIT", help="keeld of the installed systemd unit (keel), with its user, capabilities and system-call filter")
    ap.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = ap.parse_args()
    args.prefixes = args.prefixes or (50000 if args.quick else 1000000)
    if args.mrt:
        args.mrt = os.path.abspath(args.mrt)
    out = os.path.join(args.build, "demo")
    os.makedirs(out, exist_ok=True)
    binaries = {n: os.path.join(args.build, d, n) for n, d in (("keeld", "control"), ("keelctl", "control"), ("feed", "tests/bench"),
                                                              ("probe", "tests/bench"))}
    say = Progress()
    worker, others = cpus_of_lab()
    os.sched_setaffinity(0, others)  # also for all our processes, except keeld, whose worker has the last CPU
    with Hugepages(0 if args.no_huge else 512) as pages, Lab(os.path.join(out, "logs")) as lab:
        args.huge = not args.no_huge and pages >= 512
        demo = Demo(args, lab, say, binaries, out, worker, others)
        r = demo.main()
        say.end()
        print("%s\n%s" % (verdict(r), "\n".join("  %-52s %s" % row for row in table_rows(r))))
        print("  %-52s %s" % ("report", os.path.join(out, "report.html")))
        if args.keep:
            print("\nThe lab runs until Ctrl-C:\n  %s --socket %s show bgp summary\n  ip netns exec %s ping 198.18.0.1"
                  % (binaries["keelctl"], demo.sock, lab.netns("src")))
            try:
                signal.pause()
            except KeyboardInterrupt:
                pass
        status = demo.daemon.stop()
    print(verdict(r, status))
    return 1 if failures(r, status) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, TimeoutError, OSError) as e:
        sys.stderr.write("\ndemo: %s\n" % e)
        sys.exit(1)
