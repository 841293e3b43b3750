#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The long run of `scripts/bench soak --hours` for 20 s: no fault, and a planted fault is found."""
import json
import os
import subprocess
import sys

import labtest
from labtest import BUILD, FEED, KEELD, ROOT, need, out_folder

sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
import bench_soak  # noqa: E402

NAME = "soak"
HOURS = 0.0055


def test(checks):
    folder = out_folder(NAME)
    path = os.path.join(folder, "soak.json")
    r = subprocess.run([os.path.join(ROOT, "tests", "bench", "bench_soak.py"), "--hours", str(HOURS), "--routes", "10000", "--rate", "100", "--json", path],
                       env=dict(os.environ, KEEL_BUILD=BUILD), capture_output=True, text=True, timeout=500)
    checks.equal("exit status", r.returncode, 0) or print(r.stdout[-3000:] + r.stderr[-3000:])
    with open(path) as f:
        doc = json.load(f)
    checks.true("it churned, reloaded, scraped and rotated", doc["churned"]["updates"] > 100 and doc["reloads"] > 10 and doc["scrapes"] > 3 and doc["logs_rotated"] == doc["reloads"], doc)
    checks.equal("each reload was an event and a log line", (doc["events"]["commit"], doc["log_events"]["commit"]), (doc["reloads"],) * 2)
    log = bench_soak.Log(folder)
    with os.fdopen(os.dup(log.write_end), "w") as f:
        f.write("2026-11-25T02:00:00.000Z info no-such-event a=1\n2026-11-25T02:00:00.000Z info session-up peer=a\nnot a line\n")
    log.close()
    checks.equal("(a log line that no manual lists is found)", log.faults(), ["log event no-such-event is not in keeld(8)", "log line without an event: not a line"])


if __name__ == "__main__":
    need("ip", files=[KEELD, FEED])
    sys.exit(labtest.main(test))
