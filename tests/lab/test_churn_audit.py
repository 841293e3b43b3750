#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""The RIB against the answers of the workers' tables: two full feeds directly into keeld with its data plane, 100,000 updates of churn,
withdrawals, the loss of a feed; fib.audit during and after, and a separate comparison with the feed's list. Then, if ../shared is present, its
table and its churn on the wire: every route as in the text of the dumps. 100,000 prefixes; KEEL_FULL=1: 1,000,000.

    rt (keeld, AS 64512; ports upa, upb, upc) --- fa (feed, AS 64601), fb (feed, AS 64602), mrt (AS 3356)
"""
import gzip
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time

import labtest
from labtest import FEED, KEELD, SHARED, UPDATE, V4, Lab, Speaker, need, out_folder, peer, routes, run, wait_for
from lab import cpus_of_lab

NAME = "churn_audit"
A, B, M = "198.18.1.2", "198.18.2.2", "192.0.2.10"
COUNT = 1000000 if os.environ.get("KEEL_FULL") else 100000
UPDATES = 100000
ROUNDS = 5  # an audit begins during each round
FENCE_EVERY = 4000000000  # a single prefix


def config(worker, control):
    def neighbour(address, asn):
        return {"address": address, "asn": asn, "passive": True, "enforce_first_as": False, "families": {V4: {"import_policy": "accept-all", "export_policy": "deny-all"}}}

    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [a]}
                  for n, a in (("upa", "198.18.1.1/24"), ("upb", "198.18.2.1/24"), ("upc", "192.0.2.1/24"))],
        "bgp": {"peers": [neighbour(A, 64601), neighbour(B, 64602), neighbour(M, 3356)]},
    }


def number(address):
    a, b, c, d = address.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def text(n):
    return "%d.%d.%d.%d" % (n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255)


class Table:
    """The feed's list in its order, with a separate longest-match search."""

    def __init__(self, path):
        self.listed = [line.split()[0] for line in open(path)]
        self.entries = set()
        for p in self.listed:
            address, length = p.split("/")
            self.entries.add((number(address), int(length)))
        self.lengths = sorted({n for _, n in self.entries}, reverse=True)

    def longest(self, n, without=frozenset()):
        for length in self.lengths:
            key = (n >> (32 - length) << (32 - length), length)
            if key in self.entries and key not in without:
                return "%s/%d" % (text(key[0]), length)
        return None

    def tenth(self, every, offset):
        out = set()
        for p in self.listed[offset::every]:
            address, length = p.split("/")
            out.add((number(address), int(length)))
        return out


class Test:
    def __init__(self, checks, lab, out):
        self.c, self.lab, self.out = checks, lab, out
        self.worker, self.others = cpus_of_lab()
        self.rng = random.Random(5)

    def build(self):
        lab = self.lab
        for h in ("rt", "fa", "fb", "mrt"):
            lab.host(h)
        lab.link("fa", "up", A + "/24", "rt", "upa", None)
        lab.link("fb", "up", B + "/24", "rt", "upb", None)
        lab.link("mrt", "up", M + "/24", "rt", "upc", None)
        path = os.path.join(lab.dir, "table.txt")
        run(FEED, "--count", str(COUNT), "--list", path)
        self.table = Table(path)
        self.size = len(self.table.entries)
        self.keeld, self.rpc = lab.keeld("rt", config(self.worker, self.others), KEELD)

    def feed(self, name, host, source, to, asn, *table):
        return self.lab.spawn(name, host, [FEED, *table, "--connect", to, "--source", source, "--asn", str(asn), "--peer-asn", "64512"],
                              cpus=self.others, lines=True)

    def done(self, feed, command, timeout=300):
        while True:
            line = feed.line(timeout)
            if line is None:
                raise RuntimeError("%s ended: see %s" % (feed.name, feed.log))
            e = json.loads(line)
            if e["event"] in ("down", "error"):
                raise RuntimeError("%s: %s" % (feed.name, line.strip()))
            if e["event"] == "done" and e["command"] == command:
                return

    def ask(self, feed, command):
        feed.say(command)
        self.done(feed, command.split()[0])

    def accepted(self, *addresses):
        return [peer(self.rpc, a)["families"][V4]["accepted"] for a in addresses]

    def received(self):
        return sum(peer(self.rpc, a)["updates_received"] for a in (A, B))

    def fence(self, feed, address):
        """Waits until all earlier messages of the feed are processed: a prefix is withdrawn and announced again after them."""
        def there():
            return bool(routes(self.rpc, view="adj-in", peer=address, prefix=self.table.listed[5]))

        self.ask(feed, "withdraw %d 5" % FENCE_EVERY)
        wait_for("fence of " + address, lambda: not there(), 120)
        self.ask(feed, "announce %d 5" % FENCE_EVERY)
        wait_for("end of the fence of " + address, there, 60)

    def summary(self):
        t = next(t for t in self.rpc.call("rib.summary")["tables"] if t["family"] == V4)
        return t["prefixes"], t["paths"]

    def audit(self, what, least):
        begin = time.monotonic()
        r = self.rpc.call("fib.audit", limit=10)
        self.c.true("%s: audit of %d questions: 0 mismatches (%.1f s)" % (what, r["checked"], time.monotonic() - begin),
                    r["checked"] >= least and r["mismatch_count"] == 0 and r["mismatches"] == [], r)

    def compare(self, what, without=frozenset(), via=None, count=400):
        """A separate audit by sampling: the list's longest match against fib.lookup, its next hop against the RIB's best path."""
        wrong, ports = [], {A: "upa", B: "upb", M: "upc"}
        for _ in range(count):
            address, length = self.rng.choice(tuple(self.sample))
            n = address + self.rng.choice((0, (1 << (32 - length)) - 1, self.rng.randrange(1 << (32 - length)), 1 << (32 - length), -1))
            if not 0x01000000 <= n < 0xdf000000 or n >> 24 == 127 or n >> 16 in (0xc612, 0xc613) or n >> 8 == 0xc00002:
                continue
            expected = self.table.longest(n, without)
            fib, rib = self.rpc.call("fib.lookup", address=text(n)), self.rpc.call("rib.lookup", family=V4, address=text(n))
            best = [r["next_hop"] for r in rib["routes"] if r["best"]]
            paths = [(p["next_hop"], p["port"], p["state"]) for p in fib["paths"] if not p.get("backup")]
            if fib["prefix"] != expected or rib["prefix"] != expected or paths != [(b, ports[b], "up") for b in best] or (via and best not in ([], [via])):
                wrong.append((text(n), expected, fib, rib["prefix"], best))
        self.c.equal("%s: %d addresses by our own list: prefix, next hop, port" % (what, count), wrong[:3], [])

    def sessions(self):
        return [(p["address"], p["state"], p["established_count"], p["last_error"]) for p in self.rpc.call("bgp.peers")["peers"] if p["address"] in (A, B)]

    # ---- parts ----

    def load(self):
        c = self.c
        self.fa = self.feed("feed-a", "fa", A, "198.18.1.1", 64601, "--count", str(COUNT))
        self.fb = self.feed("feed-b", "fb", B, "198.18.2.1", 64602, "--count", str(COUNT))
        begin = time.monotonic()
        self.done(self.fa, "table")
        self.done(self.fb, "table")
        c.comes_to("two feeds of %d prefixes accepted" % self.size, lambda: self.accepted(A, B), [self.size] * 2, 300)
        print("     load took %.1f s" % (time.monotonic() - begin))
        c.equal("rib.summary: prefixes and paths", self.summary(), (self.size, 2 * self.size))
        self.audit("loaded", self.size)
        stats = self.rpc.call("fib.stats")["tables"][0]
        c.true("fib.stats: every prefix is installed", stats["routes"] >= self.size and stats["not_installed"] == 0, stats)
        # a thread may lack the CPU for a second
        c.equal("no alarms", [a for a in self.rpc.call("system.info")["alarms"] if a["kind"] != "thread-late"], [])
        self.sample = set(self.rng.sample(sorted(self.table.entries), 2000))
        wait_for("the neighbours' addresses", lambda: all(p["state"] == "up" for p in self.first_paths()), 30)
        self.compare("loaded")

    def first_paths(self):
        return [p for a, _ in list(self.sample)[:20] for p in self.rpc.call("fib.lookup", address=text(a))["paths"]]

    def churn(self):
        c, before, was = self.c, self.rpc.call("fib.stats"), self.sessions()
        begin, overlapped, auditor = self.received(), 0, labtest.Rpc(os.path.join(self.lab.dir, "keeld.sock"))
        for i in range(ROUNDS):
            before_round = self.received()
            for _ in range(3):  # the first starts now, the others after its end
                auditor.file.write(b'{"jsonrpc": "2.0", "id": 1, "method": "fib.audit"}\n')
            auditor.file.flush()
            for feed, seed in ((self.fa, 2 * i), (self.fb, 2 * i + 1)):
                feed.say("churn %d %d" % (UPDATES // 2 // ROUNDS, seed))
            answers = [json.loads(auditor.file.readline())["result"] for _ in range(3)]
            overlapped += self.received() > before_round
            c.equal("three audits beside churn: 0 mismatches", [(r["mismatch_count"], r["checked"] > self.size) for r in answers], [(0, True)] * 3)
            self.done(self.fa, "churn")
            self.done(self.fb, "churn")
        c.true("they ran beside it (%d of %d times)" % (overlapped, ROUNDS), overlapped > 0, overlapped)
        self.fence(self.fa, A)
        self.fence(self.fb, B)
        sent = self.received() - begin
        c.true("%d updates of churn came" % UPDATES, sent >= UPDATES, sent)
        self.audit("after churn", self.size)
        c.comes_to("the RIB has the table", lambda: (self.accepted(A, B), self.summary()), ([self.size] * 2, (self.size, 2 * self.size)))
        self.compare("after churn")
        after = self.rpc.call("fib.stats")
        c.true("the FIB was written to", after["generation"] > before["generation"] and after["tables"][0]["writes"] > before["tables"][0]["writes"], after)
        c.equal("no session noticed", self.sessions(), was)
        seen = {r["prefix"] for r in routes_all(self.rpc)}
        c.equal("rib.routes lists the table, no more and no less", (len(seen), seen == {"%s/%d" % (text(a), n) for a, n in self.table.entries}),
                (self.size, True))

    def withdraw(self):
        c = self.c
        gone = self.table.tenth(10, 3)
        self.ask(self.fa, "withdraw 10 3")
        c.comes_to("A withdraws a tenth", lambda: self.accepted(A), [self.size - len(gone)], 120)
        self.audit("a tenth by B", self.size)
        c.equal("the prefixes stay", self.summary(), (self.size, 2 * self.size - len(gone)))
        self.ask(self.fb, "withdraw 10 3")
        c.comes_to("B, too", lambda: self.accepted(B), [self.size - len(gone)], 120)
        self.audit("a tenth gone", self.size - len(gone))
        c.equal("the prefixes are gone", self.summary(), (self.size - len(gone), 2 * (self.size - len(gone))))
        self.compare("a tenth gone", gone)
        self.ask(self.fb, "announce 10 3")
        self.ask(self.fa, "announce 10 3")
        c.comes_to("back", lambda: self.accepted(A, B), [self.size] * 2, 120)
        self.audit("back", self.size)

    def death(self):
        c = self.c
        self.fa.popen.kill()
        c.comes_to("feed A killed: flushed", lambda: (self.accepted(A), self.summary()), ([0], (self.size, self.size)), 120)
        self.audit("A flushed", self.size)
        self.compare("A flushed", via=B)
        self.fb.say("quit")
        c.comes_to("feed B quits: nothing left", lambda: (self.accepted(B), self.summary()), ([0], (0, 0)), 120)
        r = self.rpc.call("fib.audit")
        c.equal("audit of the empty table", r["mismatch_count"], 0)
        c.comes_to("a lookup misses", lambda: [self.rpc.call("fib.lookup", address=text(a))["prefix"] for a, _ in list(self.sample)[:50]], [None] * 50)

    # ---- the shared dumps ----

    def shared_text(self, path):
        """{prefix: attributes} of lines in the form of `bgpdump -m`; None: withdrawn."""
        out = {}
        for line in open(path) if not path.endswith(".gz") else gzip.open(path, "rt"):
            f = line.rstrip("\n").split("|")
            if ":" in f[5]:
                continue
            out[f[5]] = None if f[2] == "W" else {"as_path": f[6], "origin": f[7].lower(), "med": int(f[10]), "communities": f[11].split(),
                                                  "large_communities": f[14].split() if len(f) > 14 else []}
        return out

    def shown(self):
        """The same from rib.routes."""
        names = {"no-export": "65535:65281", "no-advertise": "65535:65282", "no-export-subconfed": "65535:65283", "no-peer": "65535:65284",
                 "blackhole": "65535:666", "graceful-shutdown": "65535:0"}
        return {r["prefix"]: {"as_path": r["as_path"], "origin": r["origin"], "med": r.get("med", 0),
                              "communities": [names.get(x, x) for x in r.get("communities", [])], "large_communities": r.get("large_communities", [])}
                for r in routes_all(self.rpc, peer=M, view="adj-in")}

    def same(self, what, expected):
        seen = self.shown()
        wrong = [(p, seen.get(p), expected.get(p)) for p in sorted(set(seen) | set(expected)) if seen.get(p) != expected.get(p)]
        self.c.equal("%s: all %d routes, attribute by attribute" % (what, len(expected)), (len(wrong), wrong[:2]), (0, []))

    def dumps(self):
        c, folder = self.c, os.path.join(SHARED, "data")
        dump, churn, final = (os.path.join(folder, n) for n in ("small.mrt.gz", "small-churn.mrt.gz", "small-churn-final.txt.gz"))
        if not all(map(os.path.exists, (dump, churn, final))):
            print("     without %s: the dumps are left out" % folder)
            return
        lines = os.path.join(self.lab.dir, "small.txt")
        run(sys.executable, os.path.join(folder, "gen_table.py"), "--quiet", "--v4", "10000", "--v6", "2000", "--text", lines, "--text-format", "bgpdump")
        expected = self.shared_text(lines)
        feed = self.feed("feed-mrt", "mrt", M, "192.0.2.1", 3356, "--mrt", dump)
        self.done(feed, "table")
        c.comes_to("feed --mrt: accepted", lambda: self.accepted(M), [len(expected)], 60)
        self.same("feed --mrt small.mrt.gz", expected)
        self.audit("the dump", len(expected))
        feed.say("quit")
        c.comes_to("... and gone", lambda: self.accepted(M), [0], 60)

        speaker = Speaker(self.lab.netns("mrt"), M, "192.0.2.1", 3356).up()
        for kind, body in mrt_records(dump):
            if kind == (13, 2):
                bits = body[4]
                at = 5 + (bits + 7) // 8
                length = struct.unpack(">H", body[at + 8:at + 10])[0]
                speaker.send(UPDATE, struct.pack(">HH", 0, length) + body[at + 10:at + 10 + length] + body[4:at])
        c.comes_to("the dump's own octets, a message a route", lambda: self.accepted(M), [len(expected)], 60)
        self.same("the dump's own octets", expected)
        sent = 0
        for kind, body in mrt_records(churn):
            if kind == (16, 4) and body[10:12] == b"\0\1":
                speaker.sock.sendall(body[20:])
                sent += 1
        after = self.shared_text(final)
        for p, a in after.items():
            if a is None:
                expected.pop(p, None)
            else:
                expected[p] = a
        speaker.send(UPDATE, labtest.update())
        wait_for("End-of-RIB behind the churn", lambda: peer(self.rpc, M)["families"][V4]["end_of_rib_received"], 60)
        c.comes_to("%d messages of churn: as many routes as must be" % sent, lambda: self.accepted(M), [len(expected)], 30)
        self.same("small-churn.mrt.gz", expected)
        self.audit("after it", len(expected))
        c.equal("the session stayed", (speaker.closed, peer(self.rpc, M)["established_count"]), (False, 2))
        speaker.close()

    def stop_while_auditing(self):
        """SIGTERM with audits under way."""
        quiet = labtest.Rpc(os.path.join(self.lab.dir, "keeld.sock"), timeout=120)
        quiet.file.write(b'{"jsonrpc": "2.0", "method": "fib.audit"}\n')
        quiet.file.flush()
        quiet.sock.shutdown(socket.SHUT_WR)
        self.c.equal("an audit as a notification, then the end: no answer, the connection closes", quiet.file.read(), b"")
        lazy = [labtest.Rpc(os.path.join(self.lab.dir, "keeld.sock")) for _ in range(3)]
        for r in lazy:
            r.file.write(b'{"jsonrpc": "2.0", "id": 1, "method": "fib.audit"}\n' * 5)
            r.file.flush()
        self.c.equal("SIGTERM with audits asked for: exit status 0", self.keeld.stop(), 0)
        links = run("ip", "-n", self.lab.netns("rt"), "link", "show")
        self.c.true("no XDP program is left on the ports", "prog/xdp" not in links, links)


def mrt_records(path):
    data, at = gzip.open(path).read(), 0
    while at < len(data):
        kind, subtype, length = struct.unpack(">HHI", data[at + 4:at + 12])
        yield (kind, subtype), data[at + 12:at + 12 + length]
        at += 12 + length


def routes_all(rpc, **params):
    return routes(rpc, limit=10000, **(params or {"view": "loc"}))


def test(checks):
    out = out_folder(NAME)
    with Lab(out) as lab:
        t = Test(checks, lab, out)
        t.build()
        for part in (t.load, t.churn, t.withdraw, t.death, t.dumps, t.stop_while_auditing):
            part()


if __name__ == "__main__":
    need("ip", "ethtool", files=[KEELD, FEED])
    if subprocess.run([KEELD, "--version"], stdout=subprocess.DEVNULL).returncode != 0:
        labtest.skip("keeld does not run")
    raise SystemExit(labtest.main(test))
