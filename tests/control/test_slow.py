#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Slow peers: ten receivers of a table from a real keeld; one reads 10 KB/s, then nothing, and is reset alone, and later catches up. Needs root (a
network namespace); else the exit status is 77.

usage: test_slow.py KEELD KEELCTL; SLOW_ROUTES in the environment: routes of the table (default 60000). With 1000000 or more also the time of the
other nine, with and without a slow peer, and the memory. FAMILY: ipv4-unicast (default) or vpnv4-unicast.
"""
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

KEELCTL = sys.argv.pop(2)

import keel_rig  # noqa: E402
from keel_rig import (AFI_SAFI, FAMILY, KEEPALIVE, LABELS, OPEN, UPDATE, US, WAIT_S, KeelTest, in_namespace, nlri, update_of)  # noqa: E402

ROUTES = int(os.environ.get("SLOW_ROUTES", "60000"))
FULL = ROUTES >= 1000000
LIMIT_S = 5 if FULL else 2
FEEDER, FIRST, RECEIVERS = "192.0.2.2", 101, 10
EACH = 4  # prefixes of one UPDATE
RATE = 10000  # octets a second of the slow receiver
NOT_FOUND = -32004
SHORT = FAMILY.split("-")[0]


def whole(kind, body=b""):
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body


END_OF_RIB = whole(UPDATE, bytes(4) if SHORT == "ipv4" else struct.pack(">HHBBBHB", 0, 6, 0x80, 15, 3, *AFI_SAFI[FAMILY]))


def table(local_pref):
    """UPDATEs with attributes of their own."""
    out = []
    for i in range(0, ROUTES, EACH):
        more = b"\x80\4\4" + struct.pack(">I", i) + b"\xc0\x08\4" + struct.pack(">HH", 64513, local_pref)
        networks = (socket.inet_ntoa(struct.pack(">I", (0x0b000000 >> 8) + n << 8)) for n in range(i, i + EACH))
        out.append(whole(UPDATE, update_of(FAMILY, FEEDER, (64513,), b"".join(nlri(FAMILY, n) for n in networks), more)))
    return b"".join(out) + END_OF_RIB


class Session:
    """A BGP session without a hold time. `pace`: octets a second to read; None: all."""

    def __init__(self, namespace, address, asn, pace=None):
        self.address, self.asn, self.pace, self.over = address, asn, pace, False
        self.octets, self.ended_at, self.tail, self.lost = 0, None, b"", False
        self.changed = threading.Condition()
        self.sock = in_namespace(namespace, self.connect)
        capabilities = struct.pack(">BBHH", 1, 4, *AFI_SAFI[FAMILY]) + struct.pack(">BBI", 65, 4, asn)
        body = struct.pack(">BHH4sBBB", 4, asn, 0, socket.inet_aton(address), len(capabilities) + 2, 2, len(capabilities))
        self.sock.sendall(whole(OPEN, body + capabilities))
        assert self.message()[18] == OPEN
        assert self.message()[18] == KEEPALIVE
        self.sock.sendall(whole(KEEPALIVE))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def connect(self):
        until = time.monotonic() + WAIT_S
        while True:
            s = socket.socket()
            if self.pace is not None:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            s.bind((self.address, 0))
            if s.connect_ex((US, 179)) == 0:
                s.settimeout(WAIT_S)
                if s.recv(1, socket.MSG_PEEK):  # else idle hold
                    return s
            s.close()
            assert time.monotonic() < until, "nobody listens"
            threading.Event().wait(0.02)

    def message(self):
        head = self.sock.recv(19, socket.MSG_WAITALL)
        return head + self.sock.recv(struct.unpack(">H", head[16:18])[0] - 19, socket.MSG_WAITALL)

    def read(self):
        """Counts octets, and takes the time of each End-of-RIB."""
        buffer = bytearray(1 << 18)
        while not self.over:
            pace = self.pace
            if pace == 0:
                threading.Event().wait(0.01)
                continue
            try:
                if not select.select([self.sock], [], [], 0.05)[0]:
                    continue
                n = self.sock.recv_into(buffer, pace // 20 if pace else 0)
            except OSError:
                n = 0
            with self.changed:
                self.octets += n
                self.tail = (self.tail + buffer[max(0, n - 64):n])[-64:]
                if END_OF_RIB in self.tail:
                    self.ended_at, self.tail = time.monotonic(), b""
                self.lost = n == 0
                self.changed.notify_all()
            if n == 0:
                return
            if pace:
                threading.Event().wait(0.05)

    def wait_end(self):
        with self.changed:
            assert self.changed.wait_for(lambda: self.ended_at is not None or self.lost, 10 * WAIT_S) and not self.lost

    def close(self):
        self.over = True
        self.thread.join()
        self.sock.close()


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Slow(KeelTest):
    def setUp(self):
        super().setUp()
        self.receivers = ["192.0.2.%d" % (FIRST + i) for i in range(RECEIVERS)]
        for a in self.receivers:
            subprocess.run(["ip", "-n", self.namespace, "addr", "add", a + "/24", "dev", "lo"], check=True)

    def begin(self, **limits):
        both = {FAMILY: {"import_policy": "accept-all", "export_policy": "accept-all", **LABELS}}
        peers = [{"address": FEEDER, "asn": 64513, "passive": True, "families": both}]
        peers += [{"address": a, "asn": 64514, "passive": True, "group": "receivers"} for a in self.receivers]
        self.start({"router": {"asn": 64512, "router_id": US}, "management": {"http": "127.0.0.1:9179"},
                    "bgp": {"next_hop_tracking": False, "peers": peers, "groups": [{"name": "receivers", "families": both, "slow_peer": limits}]}})
        self.feeder = self.session(FEEDER, asn=64513)
        self.feed(100)

    def session(self, address, asn=64514, pace=None):
        s = Session(self.namespace, address, asn, pace)
        self.addCleanup(s.close)
        return s

    def feed(self, local_pref):
        threading.Thread(target=self.feeder.sock.sendall, args=(table(local_pref),), daemon=True).start()
        self.wait("the table", lambda: self.family(FEEDER)["accepted"] == ROUTES)

    def family(self, address):
        return self.keel.call("bgp.peers", {"peer": address})["peers"][0]["families"][FAMILY]

    def slow(self):
        return [p["address"] for p in self.keel.call("bgp.peers")["peers"] if p["families"][FAMILY]["slow"]]

    def established(self):
        return {p["address"]: p["established_count"] for p in self.keel.call("bgp.peers")["peers"] if p["state"] == "established"}

    def ctl(self, line):
        p = subprocess.run([KEELCTL, "--socket", self.keel.path, "--json"] + line.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return p.returncode, p.stdout, p.stderr

    def all_receive(self, pace):
        """Sessions with all receivers, the last with `pace`; seconds until the others have the table."""
        since = time.monotonic()
        sessions = [self.session(a, pace=pace if a == self.receivers[-1] else None) for a in self.receivers]
        for s in sessions[:-1]:
            s.wait_end()
        return sessions, max(s.ended_at for s in sessions[:-1]) - since

    def event(self, events, kind, reason):
        e = next(events)
        self.assertEqual({k: v for k, v in e.items() if k != "time"}, {
            "topic": "slow-peer", "event": kind, "address": self.receivers[-1], "vrf": "default", "family": FAMILY, "reason": reason})
        self.assertEqual(self.slow(), [self.receivers[-1]] if kind == "begin" else [])

    def test_one_of_ten(self):
        self.begin(absolute_s=0, relative_s=LIMIT_S)
        events = self.keel.notifications("slow-peer")
        sessions, _ = self.all_receive(RATE)
        self.event(events, "begin", "relative")
        sessions[-1].pace = 0
        self.assertIn("slow peer", self.ctl_text("show bgp peer " + self.receivers[-1]))
        self.assertRegex(self.metrics(), r'keel_peer_slow{peer="%s",vrf="default",asn="\d+",group="[^"]*",description="",family="%s"} 1' % (re.escape(self.receivers[-1]), FAMILY))

        # The commands reach exactly the slow peer of the family.
        for line in ["reset bgp %s slow-peer" % f for f in ("ipv4", "ipv6", "vpnv4", "vpnv6") if f != SHORT] + ["reset bgp %s %s slow-peer" % (SHORT, self.receivers[0])]:
            self.assertEqual(self.ctl(line)[0], 1, line)
        before = self.established()
        would = self.keel.call("bgp.reset", {"family": FAMILY, "scope": "slow-peer"})
        self.assertEqual([(p["address"], p["action"], p["families_dropped"]) for p in would["peers"]], [(self.receivers[-1], "would-reset", [FAMILY])])
        self.assertEqual(self.established(), before)
        status, text, _ = self.ctl("reset bgp %s slow-peer" % SHORT)
        self.assertEqual((status, [(p["address"], p["action"]) for p in json.loads(text)["peers"]]), (0, [(self.receivers[-1], "reset")]))
        self.event(events, "end", "session-down")
        self.assertEqual(self.established(), {a: n for a, n in before.items() if a != self.receivers[-1]})
        for params in ({}, {"peer": self.receivers[-1]}):
            e = self.keel.answer("bgp.reset", dict({"family": FAMILY, "scope": "slow-peer", "force": True}, **params))["error"]
            self.assertEqual((e["code"], bool(e["data"]["reason"])), (NOT_FOUND, True))

        # The other limit; and the peer catches up.
        self.assertEqual(self.keel.commit({"bgp": {"groups": [{"name": "receivers", "slow_peer": {"absolute_s": LIMIT_S, "relative_s": 0}, "families": {
            FAMILY: {"import_policy": "accept-all", "export_policy": "accept-all", **LABELS}}}]}}), [])
        last = self.session(self.receivers[-1], pace=0)
        self.event(events, "begin", "absolute")
        status, text, _ = self.ctl("reset bgp %s slow-peer" % SHORT)
        self.assertEqual(status, 0)
        self.event(events, "end", "session-down")
        last = self.session(self.receivers[-1], pace=0)
        self.event(events, "begin", "absolute")
        last.pace = None
        last.wait_end()
        self.event(events, "end", "caught-up")
        self.assertEqual(self.family(self.receivers[-1])["slow_total"], 3)
        self.assertEqual({a: n for a, n in self.established().items() if a != self.receivers[-1]}, {a: n for a, n in before.items() if a != self.receivers[-1]})
        self.assertEqual([self.family(a)["slow_total"] for a in self.receivers[:-1]], [0] * (RECEIVERS - 1))

    def ctl_text(self, line):
        return subprocess.run([KEELCTL, "--socket", self.keel.path] + line.split(), stdout=subprocess.PIPE, check=True, text=True).stdout

    def metrics(self):
        return in_namespace(self.namespace, lambda: urllib.request.urlopen("http://127.0.0.1:9179/metrics", timeout=WAIT_S).read().decode())

    @unittest.skipUnless(FULL, "SLOW_ROUTES=1000000")
    def test_the_others_do_not_wait(self):
        """Seconds of the other nine, by turns with and without a slow peer, and resident memory."""
        self.begin(absolute_s=LIMIT_S, relative_s=LIMIT_S)
        pid, seconds, memory = self.keel.call("system.info")["pid"], {None: [], RATE: []}, {}
        for pace in (None, None, RATE, None, RATE, None, RATE):
            sessions, s = self.all_receive(pace)
            seconds[pace].append(s)
            memory.setdefault(pace, []).append(resident(pid))
            self.keel.call("bgp.reset", {"family": FAMILY, "scope": "group", "group": "receivers", "force": True})  # no idle hold follows
            for x in sessions:
                x.close()
            self.wait("the end of the sessions", lambda: list(self.established()) == [FEEDER])
        seconds[None].pop(0)  # the first turn warms up
        for pace, what in ((None, "all read"), (RATE, "one reads %d octets/s" % RATE)):
            print("%s: seconds %s, MB %s" % (what, " ".join("%.2f" % x for x in seconds[pace]), " ".join("%.1f" % (x / 1e6) for x in memory[pace])), flush=True)


if __name__ == "__main__":
    keel_rig.main()
