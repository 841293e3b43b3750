#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A keeld whose main thread is late: the file with the users' names is on storage that does not answer when a user edits. Needs root (namespaces);
else the exit status is 77.

usage: test_watchdog.py KEELD
"""
import os
import shutil
import subprocess
import sys
import threading

INSIDE = "KEEL_WATCHDOG_NAMESPACE"

if __name__ == "__main__" and os.geteuid() == 0 and INSIDE not in os.environ:
    # /etc/passwd is the test's own.
    os.execvpe("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv, dict(os.environ, **{INSIDE: "1"}))

import keel_rig  # noqa: E402
from keel_rig import US, KeelTest, Unanswered  # noqa: E402


class Watchdog(KeelTest):
    def test_main_is_late(self):
        users = os.path.join(self.folder, "passwd")
        shutil.copy("/etc/passwd", users)
        subprocess.run(["mount", "--bind", users, "/etc/passwd"], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", "/etc/passwd"], check=True)
        self.start({"router": {"asn": 64512, "router_id": US}})
        self.assertEqual(self.keel.call("system.info")["alarms"], [])
        events = self.keel.notifications("alarm")
        storage = Unanswered(users)
        self.addCleanup(storage.answer)
        edit = threading.Thread(target=self.keel.call, args=("config.edit", {"merge": {"description": "late"}}))
        edit.start()
        # The log line comes while main does not answer.
        self.await_logged('warning thread-late thread=keeld doing="config.edit" for_ms=')
        self.assertNotIn("thread-late-end", self.keel.log_text())
        storage.answer()
        edit.join()
        alarms = self.keel.call("system.info")["alarms"]
        self.assertEqual([a["kind"] for a in alarms], ["thread-late"])
        self.assertRegex(alarms[0]["text"], r"^keeld (has|did) not finish(ed)? its turn for \d+\.\d s, doing: config.edit$")
        begin, end = next(events), next(events)
        self.assertEqual([(e["topic"], e["kind"], e["event"], e["thread"], e["doing"]) for e in (begin, end)],
                         [("alarm", "thread-late", event, "keeld", "config.edit") for event in ("begin", "end")])
        self.assertGreaterEqual(end["duration_s"], 1)
        self.await_logged('thread-late-end thread=keeld doing="config.edit" for_ms=')
        self.assertEqual([t["late_turns"] for t in self.keel.call("control.stats")["threads"] if t["name"] == "keeld"], [1])


if __name__ == "__main__":
    keel_rig.main()
