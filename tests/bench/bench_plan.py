#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A commit as seen by a receiver, Keel beside BIRD: 100,000 routes (ROUTES) of two transits with the same table, 1 and 4 shards, both orders of
the transits in the configuration. The transits' routes are kept, or the transits are asked and answer after 4 s (DELAY_S). Three commits:

  renamed   the import of the first transit adds another community, and the export matches the new community
  swapped   the import policies: permit becomes deny for the first transit, and deny becomes permit for the second transit
  back      the reverse of swapped

For each commit: routes withdrawn, announced, announced more than once, and seconds until the receiver has the last change. The final table is
checked."""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import ROOT, Lab, arguments, sample, say, wait_for  # noqa: E402
import duts  # noqa: E402
from duts import RT, US, Peer  # noqa: E402
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from labtest import UPDATE, Speaker  # noqa: E402

ROUTES, DELAY_S = int(os.environ.get("ROUTES", 0)), float(os.environ.get("DELAY_S", 4))
PER_PATH = 20  # prefixes with the same AS path
QUIET_S, LIMIT_S = 2, 120
A, B, RECEIVER = "198.18.0.2", "198.18.0.3", "198.18.0.4"
ASN = {A: 64513, B: 64514, RECEIVER: 64515}


def network(i):
    return struct.pack(">BI", 24, 0x14000000 + (i << 8))[:4]


class Transit(Speaker):
    """Announces the table; answers a ROUTE-REFRESH with the table after `delay_s`, between BoRR and EoRR."""

    def __init__(self, lab, address, routes):
        super().__init__(lab.netns("peers"), address, RT, ASN[address], on_refresh=lambda _: threading.Thread(target=self.answer, daemon=True).start())
        parts = []
        for i in range(0, routes, PER_PATH):
            path = b"\x40\1\1\0\x40\2\x0e\2\3" + struct.pack(">III", self.asn, 3356, 100000 + i // PER_PATH) + b"\x40\3\4" + socket.inet_aton(address)
            body = struct.pack(">HH", 0, len(path)) + path + b"".join(network(n) for n in range(i, min(i + PER_PATH, routes)))
            parts.append(b"\xff" * 16 + struct.pack(">HB", 19 + len(body), UPDATE) + body)
        self.table = b"".join(parts)

    def announce(self):
        with self.lock:
            self.sock.sendall(self.table)
        self.send(UPDATE, bytes(4))

    def answer(self):
        time.sleep(DELAY_S)  # the transit's own delay is part of the measurement
        try:
            self.refresh(1)
            self.announce()
            self.refresh(2)
        except OSError:
            pass  # the run has ended


class Receiver(Speaker):
    """Keeps received UPDATEs with their times; evaluated between the commits."""

    def __init__(self, lab):
        super().__init__(lab.netns("peers"), RECEIVER, RT, ASN[RECEIVER])
        self.updates, self.read_until, self.routes = [], 0, {}

    def message(self, kind, body):
        if kind == UPDATE:
            self.updates.append((time.monotonic(), body))
        else:
            super().message(kind, body)

    def look(self):
        """Evaluates the UPDATEs since the last call: (withdrawn, {network: times announced}, time of the last UPDATE or None)."""
        gone, said, last = 0, {}, None
        new = self.updates[self.read_until:]
        self.read_until += len(new)
        for last, body in new:
            n = struct.unpack(">H", body[:2])[0]
            at = 4 + n + struct.unpack(">H", body[2 + n:4 + n])[0]
            for i in range(2, 2 + n, 4):
                gone += self.routes.pop(body[i:i + 4], None) is not None
            attributes = body[4 + n:at]
            for i in range(at, len(body), 4):
                p = body[i:i + 4]
                self.routes[p] = attributes
                said[p] = said.get(p, 0) + 1
        return gone, said, last


# ---- policies ----

def permit(name, tag):
    return duts.policy(name, [{"seq": 10, "action": "permit", "match": {}, "set": {"communities": {"add": ["64512:%d" % tag]}}}])


def deny(name):
    return duts.policy(name, [{"seq": 10, "action": "deny", "match": {}}])


def matching(tag):
    tags = {"name": "tag%d" % tag, "entries": [{"action": "permit", "community": "64512:%d" % tag}]}
    return duts.policy("out", [{"seq": 10, "action": "permit", "match": {"community_list": tags["name"]}}], community_lists=[tags])


# name, the tag added by the imports and matched by the export, the transit with a permitting import
FIRST, COMMITS = ("first", 1, A), (("renamed", 2, A), ("swapped", 2, B), ("back", 2, A))


def peers(keep, order, tag, chosen):
    names = {A: "in-a", B: "in-b"}
    transits = [Peer(a, ASN[a], imports=permit(names[a], tag) if a == chosen else deny(names[a]), keep=keep) for a in order]
    return transits + [Peer(RECEIVER, ASN[RECEIVER], exports=matching(tag))]


# ---- a run ----

class Run:
    def __init__(self, lab, dut, keep, order, routes):
        self.lab, self.dut, self.keep, self.order, self.count = lab, dut, keep, order, routes
        dut.start(peers(keep, order, *FIRST[1:]))
        self.receiver = Receiver(lab).up()
        self.transits = [Transit(lab, a, routes).up() for a in (A, B)]
        for t in self.transits:
            t.announce()
        self.seen(FIRST, time.monotonic())

    def right(self, tag, chosen):
        """True if the receiver's table is the expected table of the configuration."""
        marks = struct.pack(">HH", 64512, tag), struct.pack(">II", ASN[chosen], 3356)
        attributes = set(self.receiver.routes.values())
        return len(self.receiver.routes) == self.count and all(m in a for a in attributes for m in marks)

    def seen(self, commit, begin):
        """Waits until the table is right and no UPDATE has come for a while: (withdrawn, announced, announced more than once, seconds to the
        last)."""
        gone, said, last, still = 0, {}, begin, time.monotonic()

        def settled():
            nonlocal gone, last, still
            self.dut.must_run()
            g, s, t = self.receiver.look()
            gone += g
            for p, n in s.items():
                said[p] = said.get(p, 0) + n
            if t is not None:
                last, still = t, time.monotonic()
            return time.monotonic() - still > QUIET_S and self.right(*commit[1:])
        wait_for("the table after %s at the receiver of %s" % (commit[0], self.dut.name), settled, LIMIT_S)
        if self.receiver.closed or any(t.closed for t in self.transits):
            raise RuntimeError("%s lost a session" % self.dut.name)
        return gone, sum(said.values()), sum(n > 1 for n in said.values()), last - begin

    def commit(self, commit):
        self.dut.prepare(peers(self.keep, self.order, *commit[1:]))
        self.receiver.look()
        begin = time.monotonic()
        self.dut.apply()
        return self.seen(commit, begin)

    def close(self):
        self.dut.stop()
        for s in (self.receiver, *self.transits):
            s.sock.close()


def measure(lab, dut, label, keep, order, routes, run):
    say("%s, %s, %s" % (label, "kept" if keep else "asked", "a before b" if order == (A, B) else "b before a"))
    r = Run(lab, dut, keep, order, routes)
    try:
        for commit in COMMITS:
            values = r.commit(commit)
            metric = "%s_%s%s" % (commit[0], "kept" if keep else "asked", "" if order == (A, B) else "_ba")
            for what, value in zip(("withdrawn", "announced", "twice"), values):
                sample("%s_%s" % (metric, what), "routes", run, value, label)
            sample(metric, "s", run, values[3], label)
    finally:
        r.close()


def keel(lab, shards):
    return duts.Keel(lab, document={"bgp": {"next_hop_tracking": False}, "dataplane": {"rib_threads": shards}})


def main():
    args = arguments(__doc__, 1)
    routes = ROUTES or (10000 if args.quick else 100000)
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        for h in ("rt", "peers"):
            lab.host(h)
        lab.link("peers", "up", [a + "/24" for a in ASN], "rt", "up", RT + "/24")
        for run in range(args.runs):
            for keep in (True, False):
                for order in ((A, B), (B, A)):
                    for shards in (1, 4):
                        measure(lab, keel(lab, shards), "%d-shard%s" % (shards, "s" if shards > 1 else ""), keep, order, routes, run)
                measure(lab, duts.BirdDut(lab), "bird", keep, (A, B), routes, run)


if __name__ == "__main__":
    main()
