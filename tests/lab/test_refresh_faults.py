#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The conformance kit for route refresh detects faults: a scripted daemon passes every clause, and with each of its faults fails the related
clause."""
import os
import sys
import threading

import labtest
from labtest import ROOT, Lab, need, out_folder

sys.path.insert(0, os.path.join(ROOT, "tests", "conformance", "refresh"))
os.environ.setdefault("KEEL_PATIENCE_S", "40")  # without a fault, a limit ends no clause on a slow machine
import adapters  # noqa: E402
import clauses  # noqa: E402,F401
import heavy  # noqa: E402
import kit as kits  # noqa: E402
import scripted  # noqa: E402
import tester  # noqa: E402

STORM_S = 5
CLAUSES = {c.name: c for c in kits.CLAUSES}


def kit_of(lab, key):
    adapters.ALL[key] = scripted.Scripted
    return kits.Kit(lab, key, STORM_S)


def begin(kit, many):
    kit.start()
    if many:
        heavy.large_table(kit, many)


def end(kit):
    kit.stop()
    kit.dut.close()


def right(checks, kit):
    begin(kit, 1000)
    for c in kits.CLAUSES:
        result = kit.run(c)
        checks.true("without a fault: %s" % c.name, result.good, "\n".join([result.text, *result.capture]))
    end(kit)


def wrong(checks, kit, faults):
    begin(kit, 1000 if any(CLAUSES[scripted.FAULTS[f]].heavy for f in faults) else 0)
    for fault in faults:
        c = CLAUSES[scripted.FAULTS[fault]]
        kit.dut.fault = fault
        if fault.startswith("no capability") or fault.startswith("capability 70"):  # in the OPEN to the third party
            kit.watch.leave()
            kit.watch.again()
        if fault == "loses the others":
            kit.run(CLAUSES["policy_without_refresh"])
        result = kit.run(c)
        kit.dut.fault = None
        checks.true("\"%s\" is seen by %s: %s" % (fault, c.name, result.text), result.good is False, "the clause passed")
    end(kit)


def test(checks):
    heavy.CHURN_S, heavy.CHURN_BURST, heavy.CHURN_ASKED_EVERY = 2, 2, 0.5
    heavy.ASKED_EVERY, heavy.STORM_PEERS, heavy.STORM_RATE = 0.05, 3, 1
    checks.equal("every clause has a fault", sorted(scripted.FAULTS.values()), sorted(CLAUSES))
    light = [f for f, c in scripted.FAULTS.items() if not CLAUSES[c].heavy]
    groups = [light[:len(light) // 2], light[len(light) // 2:], [f for f in scripted.FAULTS if f not in light]]
    with Lab(out_folder("refresh-faults")) as lab:
        right(checks, kit_of(lab, "right"))
        # messages suppressed by a fault are waited for
        tester.WAIT, heavy.STARVED_AFTER, heavy.STORM_HOLD, adapters.STALE_S, clauses.STALE_S = 2, 2, 3, 1, 1
        threads = [threading.Thread(target=wrong, args=(checks, kit_of(lab, "wrong%d" % i), group), daemon=True) for i, group in enumerate(groups)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    checks.equal("every clause was run with its fault", checks.good + checks.bad, 1 + 2 * len(CLAUSES))


if __name__ == "__main__":
    need("ip", "ethtool")
    raise SystemExit(labtest.main(test))
