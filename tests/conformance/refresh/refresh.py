#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Conformance of route refresh: the requirements of RFC 2918 and 7313, and of 4271, 4724 and 7606 as far as related, clause by clause, for a
daemon with peers of raw messages in network namespaces. Prints a table, and the captured messages of failed clauses. Exit status: 0 no clause
failed, 1 a clause failed, 77 impossible here. For another daemon, write an adapter (see adapters.py)."""
import argparse
import datetime
import json
import os
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import adapters  # noqa: E402
import clauses  # noqa: E402,F401
import heavy  # noqa: E402
import page  # noqa: E402
from labtest import KEELD, ROOT, Lab, need, out_folder  # noqa: E402
from kit import CLAUSES, MANY, Kit, Result  # noqa: E402
from tester import Fail  # noqa: E402

STORM_S, STORM_SHORT_S = 12, 10
NAME = "conformance-refresh"


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dut", default=",".join(adapters.ALL), help="daemons, by commas: %(default)s")
    p.add_argument("--clause", nargs="+", metavar="NAME", default=[], help="only these")
    p.add_argument("--list", action="store_true", help="lists the clauses and ends")
    p.add_argument("--json", metavar="FILE", help="all results, with captures")
    p.add_argument("--write", action="store_true", help="writes docs/refresh-conformance.md (of all daemons and clauses)")
    p.add_argument("--quick", action="store_true", help="a smaller table and a shorter storm")
    args = p.parse_args()
    args.dut = args.dut.split(",")
    for word, known in [(d, adapters.ALL) for d in args.dut] + [(c, [c.name for c in CLAUSES]) for c in args.clause]:
        if word not in known:
            p.error("%s: none of %s" % (word, " ".join(known)))
    if args.write and (args.clause or args.quick or sorted(args.dut) != sorted(adapters.ALL)):
        p.error("--write is for all daemons and clauses, and not --quick")
    return args


def tell(kit, one, result, seconds):
    word = {True: "pass", False: "FAIL", None: "n/a "}[result.good]
    print("%-8s %s %5.1f s  %s%s" % (kit.key, word, seconds, one.name, ": " + result.text if result.text else ""), flush=True)


def run(kit, chosen, results):
    for one in chosen:
        begin = time.monotonic()
        try:
            result = kit.run(one)
        except Exception as e:  # not even the daemon's peers could be handled
            result = Result(False, "the kit could not go on: %s" % e, traceback.format_exc().splitlines())
        results[one.name, kit.key] = result
        tell(kit, one, result, time.monotonic() - begin)


def light(kit, chosen, results):
    try:
        kit.start()
    except Exception as e:
        traceback.print_exc()
        for one in chosen:
            results[one.name, kit.key] = Result(False, "it could not be started: %s" % " ".join(str(e).split())[:200], [])
        return
    run(kit, [c for c in chosen if not c.heavy], results)


def loaded(kit, chosen, results, count):
    """Runs the heavy clauses, alone."""
    chosen = [c for c in chosen if c.heavy and (c.name, kit.key) not in results]
    if not chosen:
        return
    try:
        try:
            heavy.large_table(kit, count)
        except Fail as e:  # not the subject of the test: try again
            print("%s: %s; started anew" % (kit.key, e), flush=True)
            kit.anew()
            heavy.large_table(kit, count)
    except Exception as e:
        traceback.print_exc()
        for one in chosen:
            results[one.name, kit.key] = Result(False, "the large table: %s" % e, kit.capture())
        return
    run(kit, chosen, results)


def all_of(args, chosen, out):
    results = {}
    with Lab(out) as lab:
        kits = [Kit(lab, d, STORM_SHORT_S if args.quick else STORM_S) for d in args.dut]
        threads = [threading.Thread(target=light, args=(k, chosen, results), daemon=True) for k in kits]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for k in kits:
            loaded(k, chosen, results, MANY // 4 if args.quick else MANY)
            k.stop()
    return results


def main():
    args = arguments()
    chosen = [c for c in CLAUSES if not args.clause or c.name in args.clause]
    if args.list:
        for c in chosen:
            print("%-26s %-11s %-6s %s" % (c.name, c.rfc, c.level, c.demand))
        return 0
    need("ip", "ethtool", *[p for d in args.dut for p in adapters.ALL[d].programs], files=[KEELD] if "keel" in args.dut else [])
    out, begin = out_folder(NAME), time.monotonic()
    results = all_of(args, chosen, out)
    today = datetime.date.today().isoformat()
    print("\n" + page.text(args.dut, chosen, results))
    for c in chosen:
        for d in args.dut:
            r = results[c.name, d]
            if r.good is False:
                with open(os.path.join(out, "%s-%s.txt" % (d, c.name)), "w") as f:
                    f.write("\n".join([c.demand, r.text, *r.capture]) + "\n")
                print("\n%s, %s (%s): %s\n%s" % (adapters.ALL[d].name, c.name, c.rfc, r.text, "\n".join("    " + line for line in r.capture)))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(page.document(args.dut, chosen, results, today, os.getloadavg()[1]), f, indent=1)
    if args.write:
        with open(os.path.join(ROOT, "docs", "refresh-conformance.md"), "w") as f:
            f.write(page.markdown(args.dut, chosen, results, today, os.getloadavg()[1]))
    count = {g: sum(r.good is g for r in results.values()) for g in (True, False, None)}
    print("\n%d passed, %d failed, %d n/a, %.0f s; captures of failures in %s" % (count[True], count[False], count[None], time.monotonic() - begin,
                                                                          os.path.relpath(out, ROOT)))
    return 1 if count[False] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
