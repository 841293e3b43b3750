# SPDX-License-Identifier: BSD-3-Clause
"""Output of scripts/bench from samples: build/bench/NAME.json, a report.html over all results, and the tables of docs/benchmarks.md."""
import html
import json
import math
import os
import re
import shutil
import statistics
import subprocess

FOREIGN = ("bird", "frr", "gobgp", "openbgpd")
NAMES = {"keel": "Keel", "bird": "BIRD", "frr": "FRR", "gobgp": "GoBGP", "openbgpd": "OpenBGPD"}
OURS = ("keel", "left-right", "table_v6")
OTHERS = (*FOREIGN, "best_other", "rte_lpm", "rte_lpm6", "rte_fib6", "rte_fib6_avx512")  # loops and tables of DPDK
BEST = "the best other"
LESS_IS_BETTER = ("s", "CPU-s", "ms", "us", "ns", "MB", "sessions", "CPU-us/path", "CPU-s/s", "ns/prefix", "ns/route", "cycles/packet", "B", "bytes/prefix", "frames")
MORE_IS_BETTER = ("M/s", "Mpps", "routes/s", "walks")
NEITHER = ("%", "/s", "1/s", "MB-sent", "audits", "commits", "count", "destinations", "entries", "flips", "messages", "packets", "prefixes", "ratio", "requests", "routes", "sets", "switches", "times",
           "updates", "updates/s", "writes")


# ---- figures ----

def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def pairs(mine, others):
    """Pairs by run, because adjacent runs saw the same noise; a single value of the other device is paired with every run."""
    once = next(iter(others.values())) if len(others) == 1 else None
    return [(value, others.get(i, once)) for i, value in mine.items() if others.get(i, once) is not None]


def quotient(mine, other):
    """mine / other. If `other` is 0: infinity, or 1 if both are 0."""
    return mine / other if other else math.inf if mine > 0 else 1.0


def ratio(both, against):
    """Ratio of [(mine, the other's)]; empty if all values are zero."""
    quotients = [quotient(mine, other) for mine, other in both] if any(map(any, both)) else []
    return quotients and {"against": against, "ratio": statistics.median(quotients), "min": min(quotients), "max": max(quotients)}


def best_other(samples, units, metric, dut):
    """The daemon with the best median, except `dut`; or None."""
    sign = 1 if units[metric] in LESS_IS_BETTER else -1 if units[metric] in MORE_IS_BETTER else 0
    medians = {d: sign * statistics.median(v.values()) for (m, d), v in samples.items() if m == metric and d != dut and d in FOREIGN}
    return min(medians, key=medians.get) if sign and medians else None


def free_name(taken, metric, who, against):
    return next(n for n in (metric, "%s:%s" % (metric, against), "%s:%s:%s" % (metric, against, who)) if n not in taken)


def ratios(samples, units, best, compare):
    """{metric: ratio of `best` to the best of the other daemons}, and the ratios of `compare` (a second ratio of a metric is named METRIC:AGAINST,
    further ratios METRIC:AGAINST:OF)."""
    out = {}
    for metric, who in list(samples):
        other = best_other(samples, units, metric, best) if who == best else None
        r = other and ratio(pairs(samples[metric, who], samples[metric, other]), BEST)
        if r:
            out[metric] = dict(r, of=who, who=other)
    for who, against in compare:
        for metric, dut in list(samples):
            r = dut == who and (metric, against) in samples and ratio(pairs(samples[metric, who], samples[metric, against]), against)
            if r:
                out[free_name(out, metric, who, against)] = dict(r, of=who, who=against)
    return out


def version_of(dut, commit):
    if dut not in FOREIGN:
        return commit
    import duts  # not for the report alone, where no daemon is
    return {d.name: d for d in duts.ALL}[dut].version()


def document(name, entry, kept, command, date):
    samples, units = kept.collect()
    duts = sorted({dut for _, dut in samples}, key=lambda d: (d != "keel", d))
    return {
        "scenario": name, "title": entry.title, "machine": kept.heads[0]["host"], "version": kept.head["commit"], "command": command, "date": date,
        "runs": max((len(v) for v in samples.values()), default=0), "quick": kept.head["quick"], "wall_s": kept.wall_s(), "notes": kept.notes(),
        "results": [{"dut": dut, "version": version_of(dut, kept.head["commit"]), "metrics": {
            metric: {"unit": units[metric], "runs": len(values), **spread(list(values.values()))}
            for (metric, who), values in samples.items() if who == dut}} for dut in duts],
        "ratios": ratios(samples, units, entry.best, entry.compare), "whole": bool(kept.marks("end")),
    }


def plain(doc):
    """The document with infinite ratios as the word "inf", because JSON has no infinity."""
    return dict(doc, ratios={k: {x: "inf" if v == math.inf else v for x, v in r.items()} for k, r in doc.get("ratios", {}).items()})


def read(folder, name):
    """Reads a report, also a report of keelbench."""
    try:
        with open(os.path.join(folder, "%s.json" % name), encoding="utf-8") as f:
            doc = json.load(f)
        doc.setdefault("quick", "--quick" in doc.get("command", ""))
        doc.setdefault("whole", True)
        for r in doc["ratios"].values():
            r.update((k, float(r[k])) for k in ("ratio", "min", "max"))
        notes = doc.get("notes", [])
        doc["notes"] = [n if isinstance(n, dict) and "step" in n else {"dut": "keel", "step": name, "text": str(n)} for n in (notes if isinstance(notes, list) else [notes])]
        return doc
    except FileNotFoundError:
        return None


def write(folder, name, doc):
    """Writes atomically: a reader never sees a truncated file."""
    path = os.path.join(folder, "%s.json" % name)
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(plain(doc), f, indent=1)
        f.write("\n")
    os.replace(path + ".new", path)


def show(doc):
    if not doc["whole"]:
        print("  stopped before its end: not all of it was measured")
    for result in doc["results"]:
        for metric, m in result["metrics"].items():
            print(f"  {metric:24} {result['dut']:12} {m['median']:12.2f} {m['unit']:12} ({m['min']:.2f} to {m['max']:.2f})")
    for metric, r in doc["ratios"].items():
        who = "" if r.get("who") in (None, r["against"]) else " " + r["who"]
        print(f"  {metric.split(':')[0]:24} {r.get('of', ''):12} against {r['against'] + who:20} {r['ratio']:.3f} ({r['min']:.3f} to {r['max']:.3f})")
    for n in doc.get("notes", []):
        print(f"  {n['dut']}, {n['step']}: {n['text']}")


def metrics_of(doc, dut):
    return next((r["metrics"] for r in doc["results"] if r["dut"] == dut), {})


def runs_of(doc, dut, metric):
    m = metrics_of(doc, dut).get(metric)
    return m.get("runs", doc["runs"]) if m else 0


UNSTEADY = 2  # a reference with a larger quotient of maximum and minimum is unreliable


def doubts(doc, metric, r):
    """Reasons for doubt in the ratio `r` of `metric`: measured once, or an unsteady reference. Empty without doubt."""
    metric, out = metric.split(":")[0], []
    of, who = r.get("of") or "keel", r.get("who") or r["against"]
    once = [NAMES.get(d, d) for d in (of, who) if runs_of(doc, d, metric) == 1]
    if once:
        out.append("one run of %s" % " and ".join(once))
    reference = metrics_of(doc, who).get(metric)
    if reference and reference["min"] >= 0 and reference["max"] > UNSTEADY * reference["min"]:
        out.append("%s varies from %s to %s" % (NAMES.get(who, who), figure(reference["min"]), figure(reference["max"])))
    if doc.get("quick"):
        out.append("--quick")
    return out


def verdict(doc):
    """A sentence about the ratios to other daemons and tables (a floor or a bare loop is no competitor); a doubtful ratio counts for neither side."""
    better, worse, doubtful = [], [], 0
    for metric, r in doc["ratios"].items():
        unit = next((x["metrics"][metric.split(":")[0]]["unit"] for x in doc["results"] if metric.split(":")[0] in x["metrics"]), "")
        sign = 1 if unit in LESS_IS_BETTER else -1 if unit in MORE_IS_BETTER else 0
        if not sign or r.get("of") not in OURS or r.get("who") not in OTHERS:
            continue
        if doubts(doc, metric, r):
            doubtful += 1
        elif sign * (r["ratio"] - 1) > 0:
            worse.append("%s (%s of %s)" % (metric.split(":")[0], figure(r["ratio"]), NAMES.get(r.get("who"), r.get("who") or r["against"])))
        else:
            better.append(metric)
    if not better and not worse:
        return "No comparison that counts: each has a doubt." if doubtful else "Figures without another daemon."
    return "Better than the best other in %d of %d comparisons%s.%s" % (
        len(better), len(better) + len(worse), "" if not doubtful else "; %d more say little" % doubtful, " Worse: %s." % ", ".join(worse) if worse else "")


# ---- parts of HTML pages, shared with scripts/bench, keelbench and the demo ----

STYLE = ("body{font:15px sans-serif;max-width:1040px;margin:2em auto}table{border-collapse:collapse;margin:1em 0}"
         "td,th{padding:.15em .6em;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}"
         ".verdict{font-size:1.3em;font-weight:bold;padding:.4em .6em;border-left:.4em solid}.good{border-color:#080}.bad{border-color:#a00}.doubt{color:#a00}")


def html_table(head, rows):
    return "<table>" + ("<tr>" + "".join("<th>%s" % html.escape(h) for h in head) if head else "") + "".join(
        "<tr>" + "".join("<td>%s" % html.escape(str(c)) for c in row) for row in rows) + "</table>"


def html_verdict(good, text):
    return "<p class='verdict %s'>%s</p>" % ("good" if good else "bad", html.escape(text))


def value_text(value):
    """A figure of a report for people: no raw JSON."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return "%.6g" % value
    if isinstance(value, dict):
        return ", ".join("%s %s" % (k, value_text(v)) for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return "; ".join(map(value_text, value)) or "none"
    return str(value)


def mark_lines(marks):
    """gnuplot lines for [{"t", "text"}]: dashed lines, numbered above the plot, outside the curves."""
    lines = ["set arrow from %f, graph 0 to %f, graph 1 nohead lc rgb '#999999' dt 2" % (m["t"], m["t"]) for m in marks]
    if marks:
        lines += ["set x2tics (%s) scale 0 font ',9'" % ", ".join("'%d' %f" % (n, m["t"]) for n, m in enumerate(marks, 1)), "set link x2"]
    return lines


def mark_legend(marks):
    """The legend for the numbers of mark_lines()."""
    return html_table(["mark", "at", "event"], [[n, "%.1f s" % m["t"], m["text"]] for n, m in enumerate(marks, 1)]) if marks else ""


# ---- report.html ----

def svg(doc, plot):
    """Bars of medians with their spread; None without measurements or without gnuplot."""
    data, columns = [], 0
    for category in plot.categories:
        row = [f'"{category}"']
        for dut in plot.duts:
            m = metrics_of(doc, dut).get(plot.metric(category))
            row += [str(m[k]) for k in ("median", "min", "max")] if m else ["0", "0", "0"]
            columns += m is not None
        data.append(" ".join(row))
    if columns == 0:
        return None
    draws = ", ".join(f"$data using {2 + 3 * i}:{3 + 3 * i}:{4 + 3 * i}:xtic(1) title '{dut}'" for i, dut in enumerate(plot.duts))
    script = "\n".join([
        "set terminal svg size 640,320 font 'sans,12'", f"set title '{plot.title}' noenhanced", f"set ylabel '{plot.unit}'", "set yrange [0:*]",
        "set style data histogram", "set style histogram errorbars gap 1 lw 1", "set style fill solid 0.6", "set key top right outside", "set grid ytics",
        "$data << END", *data, "END", f"plot {draws}", ""])
    try:
        return subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def tables(doc):
    rows = [f"<tr><td>{html.escape(metric)}<td>{html.escape(result['dut'])}<td>{m['median']:.2f}<td>{m['min']:.2f}<td>{m['max']:.2f}<td>{html.escape(m['unit'])}"
            f"<td>{m.get('runs', doc['runs'])}" for result in doc["results"] for metric, m in result["metrics"].items()]
    compared = [f"<tr><td>{html.escape(metric.split(':')[0])}<td>{html.escape(r.get('of') or '')}<td>{html.escape(r['against'])}<td>{html.escape(r.get('who') or '')}<td>{r['ratio']:.3f}<td>{r['min']:.3f}<td>{r['max']:.3f}<td class=doubt>{html.escape('; '.join(doubts(doc, metric, r)))}"
                for metric, r in doc["ratios"].items()]
    notes = ["<li>%s, %s: %s" % (html.escape(n["dut"]), html.escape(n["step"]), html.escape(n["text"])) for n in doc.get("notes", [])]
    return ("<table><tr><th>metric<th>of<th>median<th>min<th>max<th>unit<th>runs" + "".join(rows) + "</table>"
            "<table><tr><th>ratio of metric<th>of<th>against<th>that is<th>median<th>min<th>max<th>says little, because" + "".join(compared) + "</table>"
            + ("<ul>" + "".join(notes) + "</ul>" if notes else ""))


def versions(doc):
    return ", ".join("%s %s" % (NAMES.get(r["dut"], r["dut"]), r["version"]) for r in doc["results"] if r["dut"] in FOREIGN)


def write_html(folder, benches):
    parts = []
    for name, entry in benches.items():
        doc = read(folder, name)
        if doc is None:
            continue
        quick = " <b>--quick: these figures say nothing</b>;" if doc.get("quick") else ""
        quick += "" if doc["whole"] else " <b>stopped before its end</b>;"
        parts.append(f"<h2>{html.escape(name)}</h2><p class=verdict>{html.escape(verdict(doc))}</p><p>{html.escape(entry.title)}</p><p>{quick} {html.escape(doc['machine'])}; {doc['runs']} runs; {doc['date']}; "
                     f"{html.escape(str(doc.get('version', '')))}; {html.escape(versions(doc))}; <code>{html.escape(doc.get('command', ''))}</code></p>")
        for plot in entry.plots:
            image = svg(doc, plot)
            if image:
                parts.append(image[image.index("<svg"):])
        parts.append(tables(doc))
    path = os.path.join(folder, "report.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write("<!doctype html><meta charset=utf-8><title>Keel benchmarks</title><style>body{font-family:sans-serif}"
                "td,th{padding:.1em .6em;text-align:left}table{margin:1em 0}.verdict{font-weight:bold}.doubt{color:#a00}</style><h1>Keel benchmarks</h1>" + "\n".join(parts) + "\n")
    return path


# ---- docs/benchmarks.md: lines from `<!-- bench NAME -->` to the next empty line ----

def figure(value):
    if value == math.inf:
        return "∞"
    return "%.0f" % value if abs(value) >= 100 or value == int(value) else "%.1f" % value if abs(value) >= 10 else "%.2f" % value if abs(value) >= 0.1 else "%.2g" % value


def cell(m):
    if m is None:
        return ""
    if m.get("runs", 2) == 1 or m["min"] == m["max"]:
        return figure(m["median"])
    return "%s (%s–%s)" % (figure(m["median"]), figure(m["min"]), figure(m["max"]))


def ratio_cell(r, several):
    """Keel's value as a part of the value of the best other device. `several`: the table has more than one device."""
    of = NAMES.get(r["of"], r["of"]) + " " if several else ""
    return "%s%s (%s–%s) of %s" % (of, figure(r["ratio"]), figure(r["min"]), figure(r["max"]), NAMES.get(r["who"], r["who"])) if r.get("who") else ""


def unit_words(unit):
    return unit.replace("CPU-s", "CPU s").replace("-", " ")


# The metrics of a scenario on the page, where these are not those of its plots.
PAGE = {
    "fanout": "live_20 live_20_cpu live_100 live_100_cpu late_100",
    "feeds": "path_4 path_20 path_60 single_4 single_60 memory_60",
    "policies": "cpu_100 memory_100 rest_100 path_4x1 path_10x100 path_60x20 memory_4094 lost_4094",
    "sets": "memory_shared memory_v4 memory_v6 memory_hops memory_communities left_v4",
    "routeserver": "verdict_700_400000 reverdict_700_400000 memory_700_400000",
    "rpki": "sync sync_memory changed probe_p99",
    "live": "kept_p99 refresh_p99 hold_p99 flap_p99 slow_p99 refreshes_p99 rest_p50 rest_cpu rest_switches",
    "strangers": "targets_100_p99 rds_100_p99 vrps_100_p99 openings_100_p99 document_100_p99",
    "policy": "change probe_p50 probe_p99 none_cpu",
    "softreset": "replay_memory replay_attributes replay_prefixes replay_mixed refresh_attributes refresh_mixed export_attributes export_mixed",
    "plan": "renamed_kept_withdrawn renamed_kept renamed_asked_withdrawn renamed_asked",
    "commit": "commit_4000 commit_rpc_4000 peers_one_4000 peers_all_4000",
    "refresh": "at_once_wall at_once_probe_p99 storm_coalesced storm_probe_p99",
    "refreshstorm": "lost tables probe_p50 probe_p99 cpu",
    "stuck": "stuck_dropped_after peak_above_loaded other_sessions_lost",
    "sessions": "sessions_lost longest_silence cpu",
    "shards": "load_cpu change_cpu updates memory",
    "forward": "rate_v4 rate_v6 rate_v46 rate_beside_changes_v4 rate_beside_changes_v6",
    "police": "rate_bgp_others rate_neighbors rate_icmp rate_others",
    "lpm": "lookup_64_200 lookup_4096_200 lookup_random_200 lookup_50000_routes add_50000",
    "lpm6": "lookup_64_huge lookup_4096_huge lookup_random_small lookup_random_huge change_huge",
    "latency": "1000_update_to_workers_p50 1000_update_to_workers_p99 100000_update_to_workers_p50 100000_update_to_workers_p99",
    "storm": "storm_lost storm_misdirected storm_latency_p50 storm_latency_p99 storm_latency_p999 storm_probe_route_p99 sessions_lost audit_mismatches",
    "stormrate": "worker_rate misdirected sessions_lost",
    "soak": "storm_lost storm_misdirected sessions_lost audit_mismatches resident_last_to_second",
}


def page_metrics(name, doc, entry):
    """The metrics of a scenario on the page; all, where neither PAGE nor the plots name one."""
    listed = PAGE.get(name, "").split() or [p.metric(category) for p in entry.plots for category in p.categories]
    measured = dict.fromkeys(m for r in doc["results"] for m in r["metrics"])
    return [m for m in dict.fromkeys(listed) if m in measured] or list(measured)


def page_table(name, doc, entry):
    metrics = page_metrics(name, doc, entry)
    duts = [r["dut"] for r in doc["results"] if any(m in r["metrics"] for m in metrics)]
    ratios_of = {metric: [r for m, r in doc["ratios"].items() if m.split(":")[0] == metric] for metric in metrics}
    last = ["ratio"] if any(r.get("who") for found in ratios_of.values() for r in found) else []
    lines = ["| %s |" % " | ".join(["metric", "unit", *(NAMES.get(d, d) for d in duts), *last]), "|---" * (2 + len(duts) + len(last)) + "|"]
    for metric in metrics:
        unit = next(r["metrics"][metric]["unit"] for r in doc["results"] if metric in r["metrics"])
        several = len({r.get("of") for r in ratios_of[metric]}) > 1
        cells = ["`%s`" % metric, unit_words(unit), *(cell(metrics_of(doc, d).get(metric)) for d in duts)]
        lines.append("| %s |" % " | ".join(cells + ["; ".join(filter(None, (ratio_cell(r, several) for r in ratios_of[metric]))) for _ in last]))
    return lines


def page_section(name, doc, entry):
    """The table of a scenario, and a quoted line with the measurement: the quote ends the table without an empty line."""
    machine = re.sub(r", (\d+ hugepages|[\d.]+ us a new page|load average before .*)", "", doc["machine"])
    command = re.sub(r" /\S*/(?=build/)", " ", doc.get("command", ""))  # works in any clone
    runs = "one run" if doc["runs"] == 1 else "medians (min–max) of up to %d runs" % doc["runs"]
    missing = [re.sub(r" \(log: [^)]*\)", "", "%s, `%s`: %s" % (NAMES.get(n["dut"], n["dut"]), n["step"], n["text"]))
               for n in doc.get("notes", []) if n.get("kind") != "once"]
    return page_table(name, doc, entry) + ["> %s." % ". ".join(["%s, %s, commit %s%s; %s: `%s`" % (
        doc["date"][:10], machine, doc.get("version", "?"), "; " + versions(doc) if versions(doc) else "", runs, command)] + ["; ".join(missing)] * bool(missing))]


# The table at the head of the page: question, bench, metric, compared devices, section.
SUMMARY = [
    ("1,000,000 routes from one peer, until a receiver has all", "load", "one", "#load"),
    ("the same from four peers, CPU", "load", "four_cpu", "#load"),
    ("the table to 100 receivers, until the last has all", "fanout", "live_100", "#fan-out"),
    ("100,000 prefixes from 60 peers, CPU", "feeds", "load_60", "#many-feeds"),
    ("a policy for each of 100 receivers, resident memory", "policies", "memory_100", "#a-policy-for-each-receiver"),
    ("an attribute set for each of 1,000,000 prefixes, memory", "sets", "memory_v4", "#an-attribute-set-for-each-prefix"),
    ("one route beside a whole policy change, p99", "live", "kept_p99", "#a-live-route-beside-a-change"),
    ("an import policy changes 1,000,000 kept routes", "policy", "change", "#a-policy-changes"),
    ("1,000 ROUTE-REFRESH a second: delay of a route, p99", "refreshstorm", "probe_p99", "#a-storm-of-route-refresh"),
    ("a commit renames a tag: routes withdrawn in between", "plan", "renamed_kept_withdrawn", "#a-commit"),
    ("one worker, IPv6, full table, 64-byte frames", "forward", "rate_v6", "#forwarding"),
    ("packets lost in a storm of changes", "storm", "storm_lost", "#the-storm"),
]


def page_summary(docs):
    lines = ["| question | Keel | best other | ratio | measured by |", "|---|---|---|---|---|"]
    for question, name, metric, anchor in SUMMARY:
        doc = docs.get(name)
        mine = next(((r["dut"], r["metrics"][metric]) for r in doc["results"] if metric in r["metrics"] and r["dut"] not in OTHERS), None) if doc else None
        if mine is None:
            lines.append("| [%s](%s) | not measured yet | | | `scripts/bench %s` |" % (question, anchor, name))
            continue
        r = doc["ratios"].get(metric)
        who = r and (r.get("who") or r["against"])
        lines.append("| [%s](%s) | %s %s | %s | %s | `scripts/bench %s` |" % (
            question, anchor, cell(mine[1]), unit_words(mine[1]["unit"]), "%s %s" % (NAMES.get(who, who.replace("_", " ")), cell(metrics_of(doc, who).get(metric))) if r else "",
            "; ".join(["%s (%s–%s)" % tuple(figure(r[k]) for k in ("ratio", "min", "max")), *doubts(doc, metric, r)]) if r else "", name))
    return lines


def page_worse(docs):
    """Metrics where another device is better, by the median of the ratios or of the figures; one line a scenario."""
    lines = []
    for name, doc in docs.items():
        worse = []
        for metric, r in doc["ratios"].items():
            metric, who, of = metric.split(":")[0], r.get("who"), r.get("of", "keel")
            unit = next((x["metrics"][metric]["unit"] for x in doc["results"] if metric in x["metrics"]), "")
            sign = 1 if unit in LESS_IS_BETTER else -1 if unit in MORE_IS_BETTER else 0
            if of not in OURS or who not in OTHERS or not sign:
                continue
            a, b = metrics_of(doc, of)[metric], metrics_of(doc, who)[metric]
            if sign * (r["ratio"] - 1) > 0 or sign * (a["median"] - b["median"]) > 0:
                worse.append("`%s` %s (%s–%s): %s against %s of %s, %s" % (
                    metric, figure(r["ratio"]), figure(r["min"]), figure(r["max"]), figure(a["median"]), figure(b["median"]), NAMES.get(who, who), unit_words(unit)))
        lines += ["| `%s` | %s |" % (name, "; ".join(worse))] if worse else []
    return ["| scenario | metric, ratio, medians |", "|---|---|"] + lines if lines else ["In none of what was measured."]


def write_page(folder, benches, path, machine=None):
    """Fills the marked places of the page from complete measurements (without --quick, not stopped); other places stay as they are. The
    measurements are stored beside the page, in a folder named after the page: measurements of several days form a page. Measurements of another
    `machine` are stored in a subfolder, and fill places `NAME on MACHINE`."""
    beside, _ = os.path.splitext(path)
    mine = os.path.join(beside, machine or "")
    os.makedirs(mine, exist_ok=True)
    for name in benches:
        doc = read(folder, name)
        if doc and doc["whole"] and not doc["quick"]:
            shutil.copyfile(os.path.join(folder, name + ".json"), os.path.join(mine, name + ".json"))
    docs = {}
    for other in ("", *sorted(e.name for e in os.scandir(beside) if e.is_dir())):
        found = ((n, read(os.path.join(beside, other), n)) for n in benches)
        docs.update({n + (" on " + other if other else ""): d for n, d in found if d})
    made = {name: page_section(name.split()[0], doc, benches[name.split()[0]]) for name, doc in docs.items()}
    if docs:
        made["worse"] = page_worse(docs)
    out, skipping = [], False
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if docs and "<!-- bench summary -->" in text:
        made["summary"] = page_summary(docs)
    for line in text.splitlines():
        skipping = skipping and line != ""
        if not skipping:
            out.append(line)
        name = line[len("<!-- bench "):-len(" -->")] if line.startswith("<!-- bench ") else None
        if name in made:
            out += made[name]
            skipping = True
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
    return sorted(made)
