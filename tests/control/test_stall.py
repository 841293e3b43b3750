#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A keeld with a full, unread pipe as stderr. Sessions, RPC and an orderly end must not depend on the reader of the log. Needs root (a network
namespace); else the exit status is 77.

usage: test_stall.py KEELD; STALL_S in the environment: seconds of malformed UPDATEs (default 5)
"""
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import threading
import time

import keel_rig
from keel_rig import KEELD, THEM, US, UPDATE, V4, Keel, KeelTest, Speaker

STALL_S = float(os.environ.get("STALL_S", "5"))
HOLD_S = 3
INNOCENT = "192.0.2.3"
FAULTS = 2000
# An ORIGIN of two octets. The routes are treated as withdrawn, the session stays up, keeld logs each message.
MALFORMED = b"\0\0" + b"\0\x12" + b"\x40\1\2\0\0" + b"\x40\2\0" + b"\x40\3\4\xc0\0\2\2" + b"\x40\5\0" + b"\x18\x14\0\0"


class Unread(Keel):
    """keeld with a pipe of 4,096 octets as stderr."""

    def start(self):
        self.unread, end = os.pipe()
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
        with os.fdopen(end) as stderr:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, KEELD, "-c", self.file, "--no-dataplane", "--socket", self.path, "--state-dir", self.state],
                stdout=subprocess.DEVNULL, stderr=stderr)
        until = time.monotonic() + keel_rig.WAIT_S
        while not self.answers():
            assert time.monotonic() < until and self.process.poll() is None
            threading.Event().wait(0.005)

    def full(self):
        """The pipe has no room for a line."""
        waiting = bytearray(4)
        fcntl.ioctl(self.unread, 0x541b, waiting)  # FIONREAD
        return int.from_bytes(waiting, "little") > 4096 - 300

    def read(self):
        """Contents of the pipe; waits for the first octet."""
        return os.read(self.unread, 1 << 16).decode()


class Impatient(Speaker):
    """Closes the session after a hold time without messages."""

    def connect(self):
        s = super().connect()
        s.settimeout(HOLD_S)
        return s


class Stall(KeelTest):
    def setUp(self):
        super().setUp()
        peer = {"passive": True, "timers": {"hold_s": HOLD_S}, "families": {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}}
        document = {"router": {"asn": 64512, "router_id": US},
                    "bgp": {"next_hop_tracking": False, "peers": [dict(peer, address=THEM, asn=64513), dict(peer, address=INNOCENT, asn=64514)]}}
        self.keel = self.unread(document)

    def unread(self, document=None):
        keel = Unread(self.namespace, self.folder, document)
        self.addCleanup(os.close, keel.unread)
        self.addCleanup(keel.log.close)
        self.addCleanup(keel.process.wait)
        self.addCleanup(keel.process.kill)
        return keel

    def speak(self, **how):
        until = time.monotonic() + keel_rig.WAIT_S
        while True:
            s = Impatient(self.namespace, **how)
            self.addCleanup(s.close)
            if s.established():
                return s
            self.assertLess(time.monotonic(), until)

    def attack(self, speaker, seconds):
        """Malformed UPDATEs, 200 a second; RPC must answer meanwhile."""
        until = asked = time.monotonic()
        until += seconds
        while time.monotonic() < until and not speaker.closed():
            speaker.send(UPDATE, MALFORMED)
            if time.monotonic() > asked:
                self.keel.call("system.info")
                asked = time.monotonic() + 0.5
            threading.Event().wait(0.005)

    def fill(self, faults):
        """Reloads a FILE with `faults` faults, one log line each, until the pipe is full and lines wait."""
        with open(self.keel.file) as f:
            good = f.read()
        with open(self.keel.file, "w") as f:
            json.dump({"bgp": {"peers": [{"address": "no address", "asn": 1}] * faults}}, f)
        os.kill(self.pid(), signal.SIGHUP)
        self.wait("lines that wait", lambda: self.keel.call("control.stats")["log"]["waiting"] > 0 and self.keel.full())
        with open(self.keel.file, "w") as f:
            f.write(good)

    def pid(self):
        return self.keel.call("system.info")["pid"]

    def test_sessions_and_rpc_do_not_wait_for_the_reader(self):
        them, innocent = self.speak(), self.speak(address=INNOCENT, asn=64514)
        self.fill(FAULTS)
        self.attack(them, STALL_S)
        self.assertFalse(them.closed() or innocent.closed())
        self.assertEqual([(p["state"], p["established_count"]) for p in self.keel.call("bgp.peers")["peers"]], [("established", 1)] * 2)
        for s in (them, innocent):
            s.close()
        self.assertGreater(self.keel.call("control.stats")["log"]["waiting"], 100)

        # The reader returns: lines arrive in order, the gap with its size, and all figures agree.
        text = ""

        def agrees():
            nonlocal text
            stats = self.keel.call("control.stats")["log"]
            while select.select([self.keel.unread], [], [], 0)[0]:
                text += self.keel.read()
            gaps = [int(n) for n in re.findall(r"warning log-lost lines=(\d+)", text)]
            return stats["waiting"] == 0 and sum(gaps) == stats["lost"] > 0 and len(text.splitlines()) == stats["written"] + len(gaps)
        self.wait("agreement of log and figures", agrees)
        self.assertEqual([x for x in text.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|info) [a-z-]+", x)], [])
        refused = [int(n) for n in re.findall(r"reload-refused path=\"/bgp/peers/(\d+)/", text)]
        self.assertEqual(refused, sorted(refused))
        self.assertGreater(len(refused), 300)

    def test_stops_in_order_with_a_reader_and_without(self):
        self.fill(100)
        self.keel.process.terminate()
        self.assertEqual(self.keel.process.wait(keel_rig.WAIT_S), 0)

        again = self.unread()
        again.process.terminate()
        text = part = again.read()
        while part:
            part = again.read()
            text += part
        self.assertEqual(again.process.wait(keel_rig.WAIT_S), 0)
        text = re.sub(r"\S+ info address .*\n", "", text)  # the host thread logs addresses at any time
        self.assertTrue(text.endswith("info keeld-stopping\n"), text[-200:])

    def test_a_crash_writes_what_waits(self):
        self.fill(100)
        os.kill(self.pid(), signal.SIGABRT)
        text = part = self.keel.read()
        while part:
            part = self.keel.read()
            text += part
        self.assertIn(self.keel.process.wait(keel_rig.WAIT_S), (-signal.SIGABRT, 128 + signal.SIGABRT))
        self.assertGreater(text.count("reload-refused"), 90)
        self.assertTrue(text.endswith("\n"))


if __name__ == "__main__":
    keel_rig.main()
