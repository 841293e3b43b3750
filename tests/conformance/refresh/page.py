# SPDX-License-Identifier: BSD-3-Clause
"""The table for a terminal, for docs/refresh-conformance.md, and as JSON."""
import os
import textwrap

from adapters import ALL

WORDS = {True: "pass", False: "FAIL", None: "n/a"}
HEAD = """# Conformance of route refresh

Written by `tests/conformance/refresh/refresh.py --write` on %s; not edited by hand. Keel is this tree, the daemons are packages of Debian 12, each in a
separate network namespace with peers of raw messages. A clause is one function of `tests/conformance/refresh/clauses.py` or `heavy.py`;
`refresh.py --clause NAME --dut NAME` shows the captured messages of a failure. `n/a`: the daemon lacks the feature of the clause, or a configuration
for it; see the note. Each daemon has the best known configuration for the clause.

The machine had %s processors and a load average of %.0f. `starvation`, `second_request`, `order` and `storm` load the daemon: with a table of 100,000
routes a daemon near the limit can pass in one run and fail in the next (FRR lost 0, 12, 14 and 0 of 20 sessions of `storm` in four runs of one day).
These clauses are easy for a daemon without answers.
"""


def column(key):
    version = ALL[key].version().split("-")[0].split("+")[0]
    return "%s %s" % (ALL[key].name, version)


def text(duts, chosen, results):
    head = "%-26s %-11s %-6s " % ("clause", "RFC", "level") + " ".join("%-16s" % column(d) for d in duts)
    rows = ["%-26s %-11s %-6s " % (c.name, c.rfc.replace("RFC ", ""), c.level) + " ".join("%-16s" % WORDS[results[c.name, d].good] for d in duts)
            for c in chosen]
    return "\n".join([head, *rows])


def markdown(duts, chosen, results, date, load):
    rows, notes = [], []
    for c in chosen:
        cells = []
        for d in duts:
            r = results[c.name, d]
            word = WORDS[r.good]
            if r.good is not True:
                same = "%s: %s." % (ALL[d].name, " ".join(r.text.split()).rstrip("."))
                if same not in notes:
                    notes.append(same)
                word += " [%d]" % (notes.index(same) + 1)
            cells.append(word)
        rows.append("| `%s` | %s | %s | %s | %s |" % (c.name, c.rfc[4:], c.level, c.demand, " | ".join(cells)))
    head = "| Clause | RFC | Level | Demand | %s |" % " | ".join(column(d) for d in duts)
    rule = "|---|---|---|---|" + "---|" * len(duts)
    sums = "| | | | passed, failed | %s |" % " | ".join("%d, %d" % tuple(sum(results[c.name, d].good is g for c in chosen) for g in (True, False))
                                                        for d in duts)
    extra = ["- %s: %s." % (ALL[d].name, ALL[d].note) for d in duts if ALL[d].note]
    listed = [textwrap.fill("%d. %s" % (i + 1, n), 120, subsequent_indent="   ", break_long_words=False) for i, n in enumerate(notes)]
    more = ["- %s, `%s`: %s." % (ALL[d].name, c.name, results[c.name, d].text) for c in chosen for d in duts
            if results[c.name, d].good and results[c.name, d].text]
    return HEAD % (date, os.cpu_count(), load) + "\n" + "\n".join([head, rule, *rows, sums, "", *listed, "", "Configuration:", "", *extra, "", "Seen besides:", "", *more]) + "\n"


def document(duts, chosen, results, date, load):
    return {"date": date, "load": load, "duts": {d: {"name": ALL[d].name, "version": ALL[d].version(), "note": ALL[d].note} for d in duts},
            "clauses": [{"name": c.name, "rfc": c.rfc, "level": c.level, "demand": c.demand,
                         "results": {d: dict(zip(("result", "text", "capture"), (WORDS[results[c.name, d].good].lower(), *results[c.name, d][1:])))
                                     for d in duts}} for c in chosen]}
