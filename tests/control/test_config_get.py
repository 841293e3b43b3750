#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""config.get while other clients edit, commit and reload: each answer is one whole document. Needs root (a network namespace); else the exit status is 77.

usage: test_config_get.py KEELD
"""
import os
import signal

import keel_rig
from keel_rig import US, Call, KeelTest

LISTS, ENTRIES, EDITS = 20, 200, 60


class ConfigGet(KeelTest):
    def test_beside_edits(self):
        lists = [{"name": "l%d" % i, "entries": [{"action": "permit", "prefix": "10.%d.%d.0/24" % (i, k)} for k in range(ENTRIES)]} for i in range(LISTS)]
        self.start({"description": "0", "router": {"asn": 64512, "router_id": US}, "prefix_lists": lists})
        for n in range(1, EDITS + 1):
            calls = [Call(self.keel, "config.get", source=source) for source in ("running", "candidate", "startup")] + [Call(self.keel, "config.get", path="/prefix_lists/3")]
            entry = {"action": "deny", "prefix": "11.0.%d.0/24" % n}
            self.keel.call("config.edit", {"patch": [{"op": "replace", "path": "/description", "value": str(n)},
                                                     *({"op": "replace", "path": "/prefix_lists/%d/entries/5" % i, "value": entry} for i in range(LISTS))]})
            if n % 3 == 0:
                self.keel.call("config.commit")
            if n % 10 == 0:
                os.kill(self.keel.process.pid, signal.SIGHUP)
            for call in calls[:3]:
                d = call.answer()["result"]["document"]
                changed = {x["entries"][5]["prefix"] for x in d["prefix_lists"]}
                self.assertEqual(changed if d["description"] == "0" else {"11.0.%s.0/24" % d["description"]},
                                 {"10.%d.5.0/24" % i for i in range(LISTS)} if d["description"] == "0" else changed)
            self.assertEqual(len(calls[3].answer()["result"]["document"]["entries"]), ENTRIES)
        self.assertEqual(self.keel.on_disk()["description"], str(EDITS))


if __name__ == "__main__":
    keel_rig.main()
