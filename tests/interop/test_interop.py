#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld against BIRD 2, FRR, GoBGP, ExaBGP and OpenBGPD, both families: the scenarios of scenarios.py, all daemons at once. Results are compared
with docs/interop.md; KEEL_WRITE_DOCS=1 writes the document. Arguments select daemons and scenarios by name, without the comparison."""
import difflib
import os
import sys
import threading
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
import interop_table
import scenarios
from bench import Bench
from daemons import ALL
from labtest import KEELD, ROOT, V4, V6, Lab, need, out_folder

NAME = "interop"
PAGE = os.path.join(ROOT, "docs", "interop.md")
SCENARIOS = ("external", "reflected_by_us", "reflected_by_it", "link_local", "next_hop6", "graceful")


def one(bench, wanted):
    """Runs all scenarios of a daemon; after a failed scenario the others run."""
    for scenario in wanted:
        try:
            getattr(scenarios, scenario)(bench)
        except Exception as e:  # an exception of a lab fails the test
            traceback.print_exc()
            bench.checks.true("%s: %s runs to its end" % (bench.daemon.name, scenario), False, e)
    try:
        bench.tear_down()
    except Exception as e:
        bench.checks.true("%s: all ends" % bench.daemon.name, False, e)


def compare(checks, benches, out):
    committed = open(PAGE).read() if os.path.exists(PAGE) else ""
    page = interop_table.page((V4, V6), scenarios.FEATURES, benches, committed)
    with open(os.path.join(out, "interop.md"), "w") as f:
        f.write(page)
    if os.environ.get("KEEL_WRITE_DOCS") == "1":
        with open(PAGE, "w") as f:
            f.write(page)
    difference = "".join(difflib.unified_diff(committed.splitlines(True), page.splitlines(True), "docs/interop.md", "seen"))
    checks.true("docs/interop.md says what was seen", not difference, "\n" + difference)
    checks.true("every feature was tried with every daemon",
                all(any((key, f) in b.cells for f in (V4, V6)) for key, _ in scenarios.FEATURES for b in benches),
                [(b.daemon.name, key) for key, _ in scenarios.FEATURES for b in benches if not any((key, f) in b.cells for f in (V4, V6))])


def test(checks):
    names = [d.name.lower() for d in ALL]
    unknown = [a for a in sys.argv[1:] if a not in names and a not in SCENARIOS]
    if unknown:
        sys.exit("%s: neither of %s nor of %s" % (unknown[0], " ".join(names), " ".join(SCENARIOS)))
    chosen = [d for d in ALL if d.name.lower() in sys.argv[1:]] or ALL
    wanted = [s for s in SCENARIOS if s in sys.argv[1:]] or SCENARIOS
    out = out_folder(NAME)
    with Lab(out) as lab:
        benches = [Bench(checks, lab, d, out, [V4, V6]) for d in chosen]
        threads = [threading.Thread(target=one, args=(b, wanted), daemon=True) for b in benches]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    if len(sys.argv) == 1:
        compare(checks, benches, out)
        return
    for b in benches:
        for key, title in scenarios.FEATURES:
            for (k, f), cell in b.cells.items():
                if k == key:
                    print("%s, %s, %s: %s" % (b.daemon.name, f, title, cell))


if __name__ == "__main__":
    need("tshark", "ip", "ethtool", *[p for d in ALL for p in d.programs], files=[KEELD])
    raise SystemExit(labtest.main(test))
