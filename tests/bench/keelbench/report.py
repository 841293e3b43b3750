# SPDX-License-Identifier: BSD-3-Clause
"""The report of a run: JSON in the common form of the repository's benchmarks (scenario, machine, date, runs, results, ratios), and HTML with
plots."""
import datetime
import html
import json
import os
import statistics
import subprocess
import sys

from report import (STYLE, doubts, html_table as rows, html_verdict, mark_legend, mark_lines, plain, ratio,  # noqa: E402  of tests/bench, for all benchmarks
                    value_text)


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d CPUs, Linux %s, load average before %s" % (model, os.cpu_count(), os.uname().release, "/".join("%.1f" % x for x in os.getloadavg()))


class Report:
    def __init__(self, scenario, out):
        self.scenario, self.out, self.machine = scenario, out, machine()
        self.command = "keelbench " + " ".join(sys.argv[1:])
        self.samples, self.units, self.versions, self.ratios, self.plots, self.more = {}, {}, {}, {}, [], {}
        os.makedirs(out, exist_ok=True)

    def add(self, dut, metric, unit, value):
        if value is not None:
            self.samples.setdefault((dut, metric), []).append(value)
            self.units[metric] = unit

    def ratio(self, metric, dut, against):
        """Ratios by run, because adjacent runs saw the same noise."""
        r = ratio(list(zip(self.samples.get((dut, metric), []), self.samples.get((against, metric), []))), against)
        if r:
            self.ratios[metric] = {"of": dut, "who": against, **r}

    def document(self):
        results = {}
        for (dut, metric), values in self.samples.items():
            results.setdefault(dut, {})[metric] = {"unit": self.units[metric], "min": min(values), "median": statistics.median(values), "max": max(values)}
        return {"scenario": self.scenario, "title": "keelbench " + self.scenario, "machine": self.machine,
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "command": self.command,
                "version": next(iter(self.versions.values()), ""), "runs": max(map(len, self.samples.values()), default=0),
                "results": [{"dut": d, "version": self.versions.get(d, ""), "metrics": m} for d, m in results.items()], "ratios": self.ratios, **self.more}

    def write(self, path=None):
        """(JSON, HTML): paths of the written files."""
        path = path or os.path.join(self.out, self.scenario + ".json")
        document = self.document()
        with open(path + ".new", "w", encoding="utf-8") as f:  # atomic: the whole file or the previous content
            json.dump(plain(document), f, indent=1)
            f.write("\n")
        os.replace(path + ".new", path)
        page = os.path.join(self.out, self.scenario + ".html")
        with open(page, "w", encoding="utf-8") as f:
            f.write(self.page(document))
        return path, page

    def page(self, d):
        parts = ["<!doctype html><meta charset=utf-8><title>keelbench %s</title><style>%s</style><h1>keelbench %s</h1>" % (d["scenario"], STYLE, d["scenario"]),
                 html_verdict(not d.get("failures"), verdict(d)), "<p>%s; %s</p><p><code>%s</code></p>" % tuple(html.escape(x) for x in (d["machine"], d["date"], d["command"]))]
        parts += cautions(d)
        parts += [svg for svg in self.plots if svg]
        parts.append("<h2>Figures</h2>" + rows(["router", "metric", "median", "min", "max", "unit"], [
            [r["dut"], k, "%.6g" % m["median"], "%.6g" % m["min"], "%.6g" % m["max"], m["unit"]] for r in d["results"] for k, m in r["metrics"].items()]))
        if d["ratios"]:
            parts.append("<h2>Ratios, run by run</h2>" + rows(["metric", "against", "median", "min", "max", "says little, because"], [
                [k, r["against"], "%.3f" % r["ratio"], "%.3f" % r["min"], "%.3f" % r["max"], "; ".join(doubts(d, k, r))] for k, r in d["ratios"].items()]))
        if "limits" in d:
            parts.append("<h2>What this machine and keelbench can do themselves</h2>" + rows(["what", "figure"], [[k, value_text(v)] for k, v in d["limits"].items()]))
        if d.get("segments") and "latency_us" in d["segments"][0]:
            parts.append("<h2>Runs</h2>" + rows(["run", "sent", "lost", "misdirected", "reordered", "duplicates", "p50 / p99 / p99.9 / max us", "longest gap (between arrivals, between packets sent) us", "lost where"], [
                [s["name"], s["sent"], s["lost"], s["misdirected"], s["reordered"], s["duplicates"],
                 "; ".join(" / ".join("%.0f" % v[q] for q in ("p50", "p99", "p999", "max")) for v in s["latency_us"].values() if v["count"]),
                 "%.0f (%.0f, %.0f)" % tuple(s[k + "_us"] for k in ("longest_gap_beyond_sender", "longest_gap", "longest_send_gap")), value_text(s["lost_where"])] for s in d["segments"]]))
        for k in ("settings", "notes"):
            if d.get(k):
                parts.append("<h2>%s</h2>" % k.capitalize() + rows([], [[key, value_text(v)] for key, v in d[k].items()] if isinstance(d[k], dict) else [[value_text(d[k])]]))
        return "\n".join(parts) + "\n"

    def plot(self, folder, title, ylabel, lines, marks=(), log=False):
        """gnuplot lines from files in a folder; skipped without gnuplot."""
        script = ["set terminal svg size 1000,280 background '#ffffff'", "set title '%s' noenhanced" % title.replace("'", ""), "set xlabel 'seconds'",
                  "set ylabel '%s'" % ylabel, "set key outside right top", "set grid"] + (["set logscale y"] if log else [])
        script += mark_lines(marks)
        try:
            svg = subprocess.run(["gnuplot"], input="\n".join(script + ["plot " + ", ".join(lines), ""]), text=True, cwd=folder, check=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout
        except (OSError, subprocess.CalledProcessError):
            return
        self.plots.append(svg[svg.index("<svg"):] + mark_legend(marks))


def verdict(d):
    """The first line of each report."""
    if d.get("failures"):
        return "FAILED: " + ", ".join(d["failures"])
    return "Nothing lost, nothing misdirected, no session down." if d["scenario"] == "storm" else "Measured to the end."


def cautions(d):
    """Paragraphs about the limits of the figures."""
    out = []
    if "--quick" in d["command"]:
        out.append("--quick: one short run with a small table. The figures show that the router survives, not how fast it is.")
    elif d["runs"] == 1:
        out.append("One run: no spread is known, so no ratio and no comparison with an older report means much. Use --runs.")
    weak = sorted({k for k, r in d["ratios"].items() if doubts(d, k, r)})
    if weak:
        out.append("Ratios that say little (reasons in their table): %s." % ", ".join(weak))
    return ["<p class=doubt>%s</p>" % html.escape(x) for x in out]


def text(d):
    """The report as text for a terminal, with the verdict first."""
    out = [verdict(d)]
    for r in d["results"]:
        for k, m in r["metrics"].items():
            spread = "" if m["min"] == m["max"] else "  (%.6g to %.6g)" % (m["min"], m["max"])
            out.append("  %-9s %-30s %12.6g %s%s" % (r["dut"], k, m["median"], m["unit"], spread))
    for k, r in d["ratios"].items():
        out.append("  %-40s %12.3f of %s  (%.3f to %.3f)%s" % (k, r["ratio"], r["against"], r["min"], r["max"],
                                                              "".join("; says little: " + x for x in doubts(d, k, r)[:1])))
    if "limits" in d:
        out.append("  own limits: " + "; ".join("%s %s" % kv for kv in d["limits"].items()))
    return "\n".join(out)
