#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A keeld whose main thread is late: FILE is on storage that does not answer when SIGHUP comes. Needs root (a network namespace); else the exit
status is 77.

usage: test_watchdog.py KEELD
"""
import os
import signal

import keel_rig
from keel_rig import US, KeelTest, Unanswered


class Watchdog(KeelTest):
    def test_main_is_late(self):
        self.start({"router": {"asn": 64512, "router_id": US}})
        self.assertEqual(self.keel.call("system.info")["alarms"], [])
        pid = self.keel.call("system.info")["pid"]
        events = self.keel.notifications("alarm")
        storage = Unanswered(self.keel.file)
        self.addCleanup(storage.answer)
        os.kill(pid, signal.SIGHUP)
        # The log line comes while main does not answer.
        self.await_logged('warning thread-late thread=keeld doing="reload of FILE" for_ms=')
        self.assertNotIn("thread-late-end", self.keel.log_text())
        storage.answer()
        alarms = self.keel.call("system.info")["alarms"]
        self.assertEqual([a["kind"] for a in alarms], ["thread-late"])
        self.assertRegex(alarms[0]["text"], r"^keeld (has|did) not finish(ed)? its turn for \d+\.\d s, doing: reload of FILE$")
        begin, end = next(events), next(events)
        self.assertEqual([(e["topic"], e["kind"], e["event"], e["thread"], e["doing"]) for e in (begin, end)],
                         [("alarm", "thread-late", event, "keeld", "reload of FILE") for event in ("begin", "end")])
        self.assertGreaterEqual(end["duration_s"], 1)
        self.await_logged('thread-late-end thread=keeld doing="reload of FILE" for_ms=')
        self.assertEqual([t["late_turns"] for t in self.keel.call("control.stats")["threads"] if t["name"] == "keeld"], [1])


if __name__ == "__main__":
    keel_rig.main()
