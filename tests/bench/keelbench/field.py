# SPDX-License-Identifier: BSD-3-Clause
"""The environment of a run: namespaces on both sides of the router (or interfaces of this machine, wired to the router), the emulated peers, the
table and the destinations drawn from the table."""
import collections
import json
import os
import random
import re
import socket
import sys
import time

from bench_lab import BUILD, CROWD, FEED, ROOT, Events
from . import plan as plans
from .plan import V4, V6
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from demo import Table  # noqa: E402
from lab import run, wait_for  # noqa: E402

SINK, PROBE, BARE = (os.path.join(BUILD, "tests", "bench", n) for n in ("sink", "probe", "bare"))
AFI = {V4: socket.AF_INET, V6: socket.AF_INET6}
A, B = 1, 2  # bits of the probe's ports
THIRD, CHURNED = 1, 2  # bits of the classes of Table.draw
EVERY = 20  # churn concerns these offsets of each 20 prefixes, for A and B, both inside Table's tenth
OFFSETS = {"a": 3, "b": 13}
# of the updates a second of the whole: A's and B's tables, IPv4 and IPv6
SHARES = {("a", V4): 0.5, ("b", V4): 0.3, ("a", V6): 0.1, ("b", V6): 0.1}


def class_mask(c, third, churned):
    """Right ports of a class: `third`: ports of the prefixes moved by a flip; other prefixes go to A; `churned`: for prefixes under churn, both
    ports are right."""
    return A | B if c & CHURNED and churned else third if c & THIRD else A


class Talker(Events):
    """A process whose events may arrive in a different order than the waits for them."""

    def __init__(self, process):
        super().__init__(process)
        self.kept = collections.deque(maxlen=1000)

    def wait(self, event, command=None, timeout=600):
        for e in self.kept:
            if self.answers(e, event, command):
                self.kept.remove(e)
                return e
        while True:
            e = self.next(timeout)
            if self.answers(e, event, command):
                return e
            self.kept.append(e)


class Field:
    """`interfaces`: interfaces of this machine, one for each link of the plan, for a box on a wire; otherwise veth links to namespace `rt`."""

    def __init__(self, lab, plan, say, counts, mrt=None, updates=None, interfaces=None, forward=False, seed=1):
        self.lab, self.plan, self.say, self.counts, self.mrt, self.updates, self.seed = lab, plan, say, counts, mrt, updates, seed
        self.feeds, self.crowds, self.taken, self.tables, self.ended = {}, {}, [], {}, set()
        try:
            self.lay(interfaces, forward)
        except BaseException:
            self.close()  # the end of a namespace removes its virtual interfaces
            raise

    def lay(self, interfaces, forward):
        """The namespaces and links."""
        lab, plan = self.lab, self.plan
        if interfaces is None:
            lab.host("rt", forward, ipv6=plan.ipv6)
            if forward:
                lab.sh("rt", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.route.max_size=4194304")
        for i, link in enumerate(plan.links):
            lab.host(link.host, ipv6=plan.ipv6)
            if interfaces is None:
                lab.link(link.host, "eth0", plan.host_addresses(link), "rt", link.name, None)
                link_dev = "eth0"
            else:
                link_dev = self.take(interfaces[i], link)
            if i == 0:
                self.devs = {}
                lab.sh("src", "ip route add default via %s" % link.router[V4])
                if plan.ipv6:
                    lab.sh("src", "ip -6 route add default via %s" % link.router[V6])
            self.devs[link.host] = link_dev

    def take(self, dev, link):
        """Moves an interface of this machine into a namespace of ours, without its configuration; close() returns the interface."""
        if not os.path.exists("/sys/class/net/" + dev):
            raise RuntimeError("--interface %s: this machine has none of that name" % dev)
        run("ip", "link", "set", dev, "netns", self.lab.netns(link.host))
        self.taken.append((link.host, dev))
        for a in self.plan.host_addresses(link):
            self.lab.sh(link.host, "ip address add %s dev %s%s" % (a, dev, " nodad" if ":" in a else ""))
        self.lab.sh(link.host, "ip link set dev %s up" % dev)
        return dev

    def close(self):
        for host, dev in self.taken:
            self.lab.sh(host, "ip address flush dev %s; ip link set dev %s netns %d" % (dev, dev, os.getpid()), check=False)
        self.taken = []

    # ---- the table ----

    def table_arguments(self, family):
        flag = ["--ipv6"] if family == V6 else []
        return flag + (["--mrt", self.mrt] if self.mrt else ["--count", str(self.counts[family]), "--seed", str(self.seed)])

    def read_tables(self):
        for f in self.plan.families:
            listing = os.path.join(self.lab.dir, f + ".txt")
            run(FEED, *self.table_arguments(f), "--list", listing)
            self.tables[f] = Table(listing, AFI[f])

    def destinations(self, count):
        """A file for the probe: drawn over all families' tables."""
        rng, lines = random.Random(7), []
        for f in self.plan.families:
            lines += self.tables[f].draw(count if f == V4 else count // 2, rng)
        rng.shuffle(lines)
        return self.lab.write("destinations.txt", "".join(lines))

    def watched(self):
        """The drawn destinations that a flip moves and churn leaves alone."""
        with open(self.drawn) as f:
            return [address for address, c in map(str.split, f) if int(c) == THIRD]

    def classed(self):
        """[(prefix, class)] of the whole table, for lab ports: Table.draw's classes."""
        third, out = re.compile(plans.THIRD), []
        for f in self.plan.families:
            t = self.tables[f]
            for (a, n), i in t.prefixes.items():
                c = (THIRD if third.search(t.entries[i][2]) else 0) | (CHURNED if i % 10 == 3 else 0)
                out.append(("%s/%d" % (socket.inet_ntop(t.afi, a.to_bytes(t.bits // 8, "big")), n), c))
        return out

    # ---- emulated peers ----

    def host_of(self, peer):
        return next(x.host for x in self.plan.links if x.name == peer.link)

    def pid_in(self, host):
        """The pid of a process of this run inside a namespace."""
        if host == "src":
            return self.sink.process.popen.pid
        return next(f.process.popen.pid for k, f in self.feeds.items() if self.host_of(self.plan.feeds[k]) == host)

    def start_feed(self, name, family):
        p = self.plan.feeds[name, family]
        more = ["--mrt-updates", self.updates] if self.updates and name == "a" else []
        self.feeds[name, family] = Talker(self.lab.spawn(
            "feed-%s-%s" % (name, family[:4]), self.host_of(p),
            [FEED, *self.table_arguments(family), "--connect", p.router, "--source", p.address, "--asn", str(p.asn),
             "--peer-asn", str(self.plan.asn), *more], lines=True))

    def start_feeds(self):
        for key in self.plan.feeds:
            self.start_feed(*key)

    def wait_feeds(self, timeout):
        for f in self.feeds.values():
            f.wait("done", "table", timeout)

    def start_crowd(self, name, peers, **more):
        first = peers[0]
        self.crowds[name] = Talker(self.lab.spawn(
            "crowd-" + name, self.host_of(first),
            [CROWD, "--connect", first.router, "--source", first.address, "--asn", str(first.asn), "--peers", str(len(peers)), "--hold", str(first.hold),
             "--next-hop", first.address], lines=True))
        return self.crowds[name]

    def start_sink(self):
        p = self.plan.sink
        self.sink = Talker(self.lab.spawn("sink", self.host_of(p), [SINK, "--connect", p.router, "--source", p.address, "--asn", str(p.asn)], lines=True))
        return self.sink

    def wait_crowd(self, name, count, timeout):
        wait_for("%d sessions of the %s peers" % (count, name), lambda: self.crowds[name].ask("report", "report")["established"] == count, timeout, poll=0.2,
                 patience=0)

    def quiet(self, what, still_s=3, limit_s=1800):
        """Waits until the receiver has received no change for a while: time of the last change, on the monotonic clock (0: none)."""
        last, since = -1, time.monotonic()

        def settled():
            nonlocal last, since
            seen = self.sink.ask("stat", "stat")["change_ns"]
            if seen != last:
                last, since = seen, time.monotonic()
            return time.monotonic() - since >= still_s
        wait_for("%s to be quiet" % what, settled, limit_s, poll=0.1)
        return last / 1e9

    # ---- churn ----

    def churn(self, rate):
        """Sets the total updates per second; 0: no churn, and the original table. Returns the updates since the last call."""
        made = skipped = 0
        keys = [k for k, f in self.feeds.items() if k in SHARES and f.process.running()]
        whole = sum(SHARES[k] for k in keys)
        for k in keys:
            self.feeds[k].say("rate %d %d %d" % (round(rate * SHARES[k] / whole), EVERY, OFFSETS[k[0]]))
        if not rate:
            for k in keys:
                e = self.feeds[k].wait("paced")
                made, skipped = made + e["updates"], skipped + e["skipped"]
        return made, skipped

    def lost_feeds(self):
        """Number of feed sessions lost since the last call: a feed ends with its session."""
        ended = {k for k, f in self.feeds.items() if not f.process.running()}
        new, self.ended = ended - self.ended, ended
        return len(new)


class Traffic:
    """A run of the probe: numbered packets until stop(), and the fate of each packet."""

    def __init__(self, field, out, name, pps, window=0, ports=None, source="src", destinations=None):
        self.lab, self.out = field.lab, os.path.join(out, name)
        os.makedirs(self.out, exist_ok=True)
        ports = ports or ["%s:%s" % (self.lab.netns(h), field.devs[h]) for h in ("pa", "pb")]
        words = [w for p in ports for w in ("--to", p)]
        self.process = self.lab.spawn("probe-" + name, None, [PROBE, "--from", self.lab.netns(source), *words, "--destinations", destinations or field.drawn,
                                                              "--pps", str(pps), "--window", str(window), "--out", self.out], lines=True)
        self.clock = time.time()

    def say(self, text):
        self.process.say(text)
        answer = self.process.line(60)
        if not answer or not answer.startswith("ok"):
            raise RuntimeError("probe: %s: %s" % (text, answer or self.process.logged()[-500:].strip()))

    def masks(self, third, churned):
        for c in range(4):
            self.say("mask %d %d" % (c, class_mask(c, third, churned)))

    def stop(self):
        self.process.say("stop")
        self.process.popen.wait(300)
        if self.process.popen.returncode != 0:
            raise RuntimeError("probe: exit %d: %s" % (self.process.popen.returncode, self.process.logged()[-500:].strip()))
        with open(os.path.join(self.out, "probe.json")) as f:
            return json.load(f)
