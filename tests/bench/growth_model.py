# SPDX-License-Identifier: BSD-3-Clause
"""The model of docs/scaling.md for the cost of a load: fitted to the points of `scripts/bench growth`, and held against other points. scripts/bench
--page writes the table between the marks `<!-- bench growth model -->` and `<!-- end -->`, and the plots beside the measurements."""
import itertools
import math
import os
import subprocess

# P prefixes from each of F feeds to G receivers: microseconds of CPU, and bytes, of the whole load.
TERMS = {
    "cpu": [("of a load", lambda p, f, g: 1), ("for each prefix", lambda p, f, g: p), ("for each further path", lambda p, f, g: p * (f - 1)),
            ("for each further path, times ln F", lambda p, f, g: p * (f - 1) * math.log(f)), ("for each prefix and further group", lambda p, f, g: p * (g - 1)),
            ("for each further path, with further groups", lambda p, f, g: p * (f - 1) * (g > 1)),
            # of a larger table less is in the caches when a group reads it
            ("for each further path, times ln (P / 40,000), with further groups", lambda p, f, g: p * (f - 1) * math.log(p / 40000) * (g > 1)),
            # the first path is best only for a time; what changes while a group is behind is told once
            ("for each prefix, times 1 - 1 / F, with further groups", lambda p, f, g: p * (1 - 1 / f) * (g > 1)),
            ("for each prefix and further group, times 1 - 1 / F", lambda p, f, g: p * (1 - 1 / f) * (g - 1))],
    "bytes": [("of a load", lambda p, f, g: 1), ("for each prefix", lambda p, f, g: p), ("for each further path", lambda p, f, g: p * (f - 1)),
              ("for each further path, times ln F", lambda p, f, g: p * (f - 1) * math.log(f)), ("for each prefix, with further groups", lambda p, f, g: p * (g > 1)),
              ("for each prefix and further group", lambda p, f, g: p * (g - 1)), ("for each further group, with several feeds", lambda p, f, g: (g - 1) * (f > 1)),
              # memory is taken in pieces that grow with the load, and the last piece of each kind is not full
              ("for the square root of the paths", lambda p, f, g: math.sqrt(p * f))],
}
UNITS = {"cpu": "µs", "bytes": "B"}
HELD_OUT = {(40000, 1, 300), (200000, 4, 10), (20000, 10, 100)}
PLOTS = (("prefixes", 0), ("feeds", 1), ("groups", 2))


def solve(matrix, right):
    """Gaussian elimination."""
    n = len(right)
    rows = [row[:] + [r] for row, r in zip(matrix, right)]
    for i in range(n):
        best = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for k in range(n):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
    return [row[n] / row[i] for i, row in enumerate(rows)]


def fit(kind, points):
    """Coefficients with the least squares of the relative errors. points: {(p, f, g): cost a path}"""
    rows = [[term(*at) / (at[0] * at[1] * value) for _, term in TERMS[kind]] for at, value in points.items()]
    n = len(TERMS[kind])
    return solve([[sum(r[i] * r[k] for r in rows) for k in range(n)] for i in range(n)], [sum(r[i] for r in rows) for i in range(n)])


def predicted(kind, coefficients, at):
    """The cost a path."""
    return sum(c * term(*at) for c, (_, term) in zip(coefficients, TERMS[kind])) / (at[0] * at[1])


def points_of(metrics, kind):
    """{(p, f, g): (median, min, max)} of the metrics KIND_P_F_G."""
    out = {}
    for name, m in metrics.items():
        words = name.split("_")
        if words[0] == kind and len(words) == 4:
            out[tuple(map(int, words[1:]))] = m["median"], m["min"], m["max"]
    return out


def models(metrics):
    """{kind: (points, coefficients)}, or None where points are missing."""
    out = {}
    for kind in TERMS:
        points = points_of(metrics, kind)
        if len(points) < len(TERMS[kind]) + 2:
            return None
        try:
            out[kind] = (points, fit(kind, {at: median for at, (median, _, _) in points.items() if at not in HELD_OUT}))
        except ZeroDivisionError:  # no point for one of the terms: measured before the term was added
            return None
    return out


def number(value):
    return "%.3g" % value if abs(value) < 1000 else "%.0f" % value


def table(found):
    lines = ["| term | CPU, µs | | memory, bytes |", "|---|---|---|---|"]
    sides = [[(name, number(c)) for (name, _), c in zip(TERMS[kind], found[kind][1])] for kind in ("cpu", "bytes")]
    for (name, c), (other, b) in itertools.zip_longest(*sides, fillvalue=("", "")):
        lines.append("| %s | %s | %s | %s |" % (name, c, "" if name == other else other, b))
    lines += ["", "| prefixes, feeds, groups | CPU a path, µs | model | error | bytes a path | model | error |", "|---|---|---|---|---|---|---|"]
    for at in sorted(found["cpu"][0], key=lambda at: (at in HELD_OUT, at[2], at[1], at[0])):
        cells = []
        for kind in TERMS:
            points, coefficients = found[kind]
            model = predicted(kind, coefficients, at)
            median, low, high = points[at]
            cells.append("%s (%s–%s) | %s | %+.0f %%" % (number(median), number(low), number(high), number(model), 100 * (model / median - 1)))
        lines.append("| %s%s | %s |" % (", ".join(format(n, ",") for n in at), " (not fitted)" if at in HELD_OUT else "", " | ".join(cells)))
    return lines


def svg(kind, points, coefficients):
    """Measured points (median, min, max) and the model by prefixes, feeds and groups."""
    script = ["set terminal svg size 960,300 font 'sans,11'", "set multiplot layout 1,3", "set logscale xy", "set key top left"]
    for title, axis in PLOTS:
        others = [i for i in range(3) if i != axis]
        # the points in which no other dimension differs from the usual
        fixed = {1: (40000, 1), 2: (40000, 1), 0: (1, 1)}[axis]
        mine = sorted(at for at in points if tuple(at[i] for i in others) == fixed and at not in HELD_OUT)
        script += ["set title '%s a path, by %s'" % ({"cpu": "CPU (us)", "bytes": "bytes"}[kind], title), "$measured << END"]
        script += ["%d %g %g %g" % (at[axis], *points[at]) for at in mine] + ["END", "$model << END"]
        low, high = mine[0][axis], mine[-1][axis]
        for i in range(41):
            at = list(mine[0])
            at[axis] = low * (high / low) ** (i / 40)
            script.append("%g %g" % (at[axis], predicted(kind, coefficients, at)))
        script += ["END", "plot $measured with yerrorbars pt 7 title 'measured', $model using 1:2 with lines title 'model'"]
    try:
        return subprocess.run(["gnuplot"], input="\n".join(script) + "\n", capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def write(doc, page, folder):
    """Fills the marked place of the page, and writes the plots into the folder beside the page."""
    metrics = next((r["metrics"] for r in doc["results"] if r["dut"] == "keel"), {}) if doc else {}
    found = models(metrics)
    if not found:
        return False
    lines = ["%s, %s, commit %s: `%s`." % (doc["date"][:16].replace("T", " "), doc["machine"], doc.get("version", "?"), doc["command"]), ""] + table(found) + [""]
    for kind in TERMS:
        image = svg(kind, *found[kind])
        name = "growth-%s.svg" % kind
        if image:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(image)
            lines += ["![%s a path](%s/%s)" % ({"cpu": "CPU", "bytes": "bytes"}[kind], os.path.basename(folder), name), ""]
    with open(page, encoding="utf-8") as f:
        before, _, rest = f.read().partition("<!-- bench growth model -->\n")
    if not rest:
        return False
    with open(page, "w", encoding="utf-8") as f:
        f.write(before + "<!-- bench growth model -->\n\n" + "\n".join(lines) + "\n" + rest[rest.index("<!-- end -->"):])
    return True
