# SPDX-License-Identifier: BSD-3-Clause
"""docs/interop.md from what the lab saw."""
import textwrap

from interop import V4, V6

HEAD = """# Interoperation with other daemons

Written by `KEEL_WRITE_DOCS=1 tests/interop/test_interop.py`; without that the test (`scripts/test lab/interop`) fails when what it sees differs
from this page. Each daemon is Debian 12's and has a `keeld --no-dataplane` (AS 64512) and speakers of a few lines of its own, in network
namespaces. Routes of one speaker behind the daemon and of one behind keeld carry every attribute: origin, AS path with sets and 4-octet ASes, next
hop, MED, local pref (internal sessions), communities, large and extended ones, aggregator, atomic aggregate, originator and cluster list. They are
compared attribute by attribute, in keeld's `rib.routes` and in what the daemon's own command shows. BoRR, EoRR and requests are counted on the
wire by tshark.

`yes`: seen to work. `no`: the daemon's version lacks it; the note says what was seen.
"""
NAMES = {V4: "IPv4 unicast", V6: "IPv6 unicast"}


def column(daemon):
    return "%s %s" % (daemon.name, daemon.version().split("-")[0].split("+")[0])


def family_table(family, features, benches):
    notes, rows = [], []
    for key, title in features:
        cells = [b.cells.get((key, family)) for b in benches]
        if all(c is None for c in cells):
            continue
        row = [title]
        for b, cell in zip(benches, cells):
            good, text = cell or (None, "")
            word = {True: "yes", False: "no", None: "failed"}[good]
            if text and good is not None:
                same = "%s: %s." % (column(b.daemon), text)
                if same not in notes:
                    notes.append(same)
                word += " [%d]" % (notes.index(same) + 1)
            row.append(word)
        rows.append("| " + " | ".join(row) + " |")
    head = "| %s | %s |" % (NAMES[family], " | ".join(column(b.daemon) for b in benches))
    rule = "|---|" + "---|" * len(benches)
    listed = [textwrap.fill("%d. %s" % (i + 1, n), 120, subsequent_indent="   ", break_long_words=False) for i, n in enumerate(notes)]
    return "\n".join(["## " + NAMES[family], "", head, rule, *rows, "", *listed])


def page(families, features, benches):
    return HEAD + "".join("\n" + family_table(f, features, benches) + "\n" for f in families)
