#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Timers of a real keeld with a clock that the test moves: the confirmation of a commit, in every order of three events, and the expiry of the data of
RPKI caches. Needs root (a network namespace); else the exit status is 77.

usage: test_clock.py KEELD MOVED_CLOCK
"""
import itertools
import mmap
import os
import struct
import sys
import tempfile

SHIM = sys.argv.pop(2)

import keel_rig  # noqa: E402
from keel_rig import US, KeelTest  # noqa: E402
from rtr_cache import Cache  # noqa: E402

CONFIRM_S = 100


class Clock(KeelTest):
    def begin(self, **keys):
        f = tempfile.NamedTemporaryFile()
        self.addCleanup(f.close)
        f.write(bytes(8))
        f.flush()
        self.clock, self.moved = mmap.mmap(f.fileno(), 8), 0
        os.environ.update(LD_PRELOAD=SHIM, KEEL_TEST_CLOCK=f.name)
        try:
            self.start(dict({"description": "first", "router": {"asn": 64512, "router_id": US}}, **keys))
        finally:
            del os.environ["LD_PRELOAD"], os.environ["KEEL_TEST_CLOCK"]

    def move(self, seconds):
        self.moved += seconds
        self.clock[:] = struct.pack("=Q", self.moved)
        self.keel.call("rpki.summary")  # wakes main and keel-rpki

    def commit(self, text, **how):
        self.keel.call("config.edit", {"merge": {"description": text}})
        self.keel.call("config.commit", how)

    def test_confirm(self):
        """keel-rpc(7), config.commit: a commit with a time returns unless it is confirmed, a plain commit confirms, a new time moves the end and not the
        document to return to."""
        self.begin()
        running, base, end, now, number = "first", None, None, 0, 0
        for order in itertools.product(("confirm_s", "commit", "confirm", "half the time", "the time"), repeat=3):
            for event in order:
                number += 1
                if event == "confirm_s":
                    base, running, end = running if end is None else base, "text %d" % number, now + CONFIRM_S
                    self.commit(running, confirm_s=CONFIRM_S)
                elif event == "commit":
                    running, end = "text %d" % number, None
                    self.commit(running)
                elif event == "confirm":
                    self.assertEqual("error" in self.keel.answer("config.confirm", {}), end is None, order)
                    end = None
                else:
                    now += CONFIRM_S // 2 if event == "half the time" else CONFIRM_S
                    self.move(CONFIRM_S // 2 if event == "half the time" else CONFIRM_S)
                if end is not None and now >= end:
                    running, end = base, None
                self.wait("%s after %s of %s" % (running, event, order), lambda: (
                    self.keel.call("config.get", {"source": "running", "path": ""})["document"]["description"], "confirm" in self.keel.call("config.history"))
                    == (running, end is not None))

    def records(self, count):
        self.wait("%d records" % count, lambda: self.keel.call("rpki.summary")["vrps"]["ipv4"] == count)

    def test_data_of_a_removed_cache_expires(self):
        """The cache that replaces another never answers: the data stays until it expires, and no longer."""
        self.begin(rpki={"caches": [{"address": "127.0.0.1", "port": 8282}]})
        cache = Cache(self.namespace, 8282, ("20.0.0.0/24", 24, 64999), intervals=(300, 600, 900))
        self.addCleanup(cache.close)
        self.records(1)
        self.keel.commit({"rpki": {"caches": [{"address": "127.0.0.1", "port": 8283}]}})
        self.move(800)
        self.assertEqual(self.keel.call("rpki.summary")["vrps"]["ipv4"], 1)
        self.move(110)
        self.records(0)

    def test_data_of_a_lost_cache_expires(self):
        self.begin(rpki={"caches": [{"address": "127.0.0.1", "port": 8282}]})
        cache = Cache(self.namespace, 8282, ("20.0.0.0/24", 24, 64999), intervals=(300, 600, 900))
        self.records(1)
        cache.close()
        self.move(800)
        self.assertEqual(self.keel.call("rpki.summary")["vrps"]["ipv4"], 1)
        self.move(110)
        self.records(0)


keel_rig.main()
