#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Results kept by scripts/bench of a stopped run, the choice of the best other device, and the text in docs/benchmarks.md. No daemons."""
import collections
import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import types

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
import report  # noqa: E402
from samples import Samples  # noqa: E402

HEAD = {"commit": "c1", "machine": "m", "quick": False, "host": "m, idle"}
Entry = collections.namedtuple("Entry", "title best compare plots", defaults=("t", "keel", [("keel", "floor")], []))
PAGE = """# page
<!-- bench worse -->
not measured yet

<!-- bench x -->
not measured yet

<!-- bench y -->
not measured yet

"""


def check(what, seen, expected):
    if seen != expected:
        sys.exit("%s: %r, expected %r" % (what, seen, expected))


def resumed(path):
    first = Samples(path, HEAD)
    for line in ("load keel s 0 2", "# done one keel 0 3.5", "load bird s 0 9", "# wall 4.0"):
        check("kept", first.append(line), True)
    check("a word beside", first.append("FEED came up"), False)
    check("not whole", first.whole(None), False)
    other = Samples(path, dict(HEAD, commit="c2"))
    check("another commit's", other.lines, [])
    other.append("load keel s 0 77")
    again = Samples(path, HEAD)
    check("what was done", again.marks("done"), [["done", "one", "keel", "0", "3.5"]])
    for line in ("load bird s 0 4", "load keel s 1 3", "load bird s 1 4", "load frr s 0 1e2", "load floor s 0 1", "load floor s 1 1", "memory keel MB 0 3", "memory bird MB 0 2",
                 "# once one frr one run only: it takes 100 s", "# unable one gobgp no end within 120 s", "# wall 6.0", "# end 2"):
        again.append(line)
    kept = Samples(path, HEAD)
    check("whole for two", (kept.whole(1), kept.whole(2), kept.whole(3), kept.whole(None)), (True, True, False, False))
    check("wall", kept.wall_s(), 10.0)
    samples, units = kept.collect()
    check("the later one counts", samples["load", "bird"], {0: 4.0, 1: 4.0})
    check("anew", Samples(path, HEAD, fresh=True).lines, [])
    return kept


def compared(kept):
    doc = report.document("x", Entry(), kept, "scripts/bench x", "2026-01-01T00:00:00+00:00")
    r = doc["ratios"]["load"]
    check("against the best other", (r["against"], r["who"], r["min"], r["ratio"], r["max"]), ("the best other", "bird", 0.5, 0.625, 0.75))
    check("against the floor", doc["ratios"]["load:floor"]["ratio"], 2.5)
    check("where another is better", doc["ratios"]["memory"]["ratio"], 1.5)
    check("whole", doc["whole"], True)
    check("who lacks what", [(n["dut"], n["kind"]) for n in doc["notes"]], [("frr", "once"), ("gobgp", "unable")])
    return doc


def three_against_one(folder):
    """Each device has its own ratio, labelled on the page."""
    kept = Samples(os.path.join(folder, "shards.samples"), HEAD)
    for i, dut in enumerate(("one", "two", "four", "sixteen")):
        kept.append("load %s us 0 %d" % (dut, i + 1))
    entry = Entry(best=None, compare=[("two", "one"), ("four", "one"), ("sixteen", "one")])
    doc = report.document("shards", entry, kept, "scripts/bench shards", "2026-01-01T00:00:00+00:00")
    check("a ratio each", {k: r["ratio"] for k, r in doc["ratios"].items()}, {"load": 2.0, "load:one": 3.0, "load:one:sixteen": 4.0})
    check("told", "; ".join("%s %d (%d–%d) of one" % (d, n, n, n) for d, n in (("two", 2), ("four", 3), ("sixteen", 4))) in report.page_table("shards", doc, Entry())[-1], True)


def of_none(folder):
    """With a zero of the best other device and a positive value of ours: infinitely worse, on the page too, and valid JSON."""
    kept = Samples(os.path.join(folder, "none.samples"), HEAD)
    for run, (lost, gap) in enumerate(((0, 0), (3, 0), (2, 0))):
        for line in ("lost keel sessions %d %d" % (run, lost), "lost bird sessions %d 0" % run, "gap keel us %d %d" % (run, gap), "gap bird us %d 0" % run,
                     "rate keel M/s %d 5" % run, "rate bird M/s %d 0" % run):
            kept.append(line)
    kept.append("# end 3")
    doc = report.document("none", Entry(), kept, "scripts/bench none", "2026-01-01T00:00:00+00:00")
    report.write(folder, "none", doc)
    with open(os.path.join(folder, "none.json")) as f:
        json.load(f, parse_constant=lambda word: sys.exit("%s is not JSON" % word))
    inf = float("inf")
    check("as it was written", report.read(folder, "none")["ratios"], doc["ratios"])
    check("infinitely many, and as many", {k: (r["min"], r["ratio"], r["max"]) for k, r in doc["ratios"].items()},
          {"lost": (1, inf, inf), "rate": (inf, inf, inf)})
    page = os.path.join(folder, "none.md")
    with open(page, "w") as f:
        f.write(PAGE + "<!-- bench none -->\nnot measured yet\n\n")
    report.write_page(folder, {"none": Entry()}, page)
    worse, *_, mine, _ = open(page).read().split("\n\n")
    check("worse, of what less is better", ("| `none` | `lost` ∞ (1–∞): 2 against 0 of BIRD, sessions |" in worse, "`rate`" in worse), (True, False))
    check("in its own table", "∞ (1–∞) of BIRD" in mine, True)


def worse_by_one(folder):
    """A device worse by the median of the figures alone, but not by pairs, is listed as worse, too."""
    kept = Samples(os.path.join(folder, "pairs.samples"), HEAD)
    for run, (mine, other) in enumerate(((3, 2), (2, 5), (4, 9))):
        for line in ("load keel s %d %d" % (run, mine), "load bird s %d %d" % (run, other), "late keel s %d %d" % (run, (1, 4, 6)[run]), "late bird s %d %d" % (run, (2, 3, 7)[run])):
            kept.append(line)
    kept.append("# end 3")
    doc = report.document("pairs", Entry(), kept, "scripts/bench pairs", "2026-01-01T00:00:00+00:00")
    check("one ratio in each is below 1", [r["ratio"] < 1 for r in doc["ratios"].values()], [True, True])
    worse = report.page_worse({"pairs": doc})
    check("worse by the figures", ([line for line in worse if "`load`" in line], len([line for line in worse if "`late`" in line])), ([], 1))


def doubted(folder):
    """Ratios of a single run, or against an unsteady reference, are marked in the table at the head of the page and in both reports, and count for
    no verdict."""
    kept = Samples(os.path.join(folder, "load.samples"), HEAD)
    for run in range(3):
        for metric, mine, other in (("one", 2, 4), ("four_cpu", 9, 8), ("steady", 2, 3), ("wild", 2, 3 + 4 * run)):
            kept.append("%s keel s %d %d" % (metric, run, mine))
            if run == 0 or metric != "one":
                kept.append("%s bird s %d %d" % (metric, run, other))
    kept.append("# end 3")
    doc = report.document("load", Entry(), kept, "scripts/bench load", "2026-01-01T00:00:00+00:00")
    check("doubts", {m: report.doubts(doc, m, r) for m, r in doc["ratios"].items()},
          {"one": ["one run of BIRD"], "four_cpu": [], "steady": [], "wild": ["BIRD varies from 3 to 11"]})
    check("verdict", report.verdict(doc), "Better than the best other in 1 of 2 comparisons; 2 more say little. Worse: four_cpu (1.12 of BIRD).")
    summary = report.page_summary({"load": doc})
    check("twelve lines", len(summary), 2 + 12)
    check("the doubt is in the line", (summary[2].endswith("| 2 s | BIRD 4 | 0.50 (0.50–0.50); one run of BIRD | `scripts/bench load` |"), "not measured yet" in summary[-1]), (True, True))
    report.write(folder, "load", doc)
    page = open(report.write_html(folder, {"load": Entry()})).read()
    check("the verdict first", -1 < page.index("Better than the best other") < page.index("<table>"), True)
    check("the reason beside the ratio", "<td class=doubt>BIRD varies from 3 to 11" in page, True)


def repository(folder):
    """docs/benchmarks.md has no word in its tables that its measurements do not give. A scenario has the metrics of PAGE, or of its plots."""
    bench = importlib.machinery.SourceFileLoader("bench", os.path.join(ROOT, "scripts", "bench")).load_module()
    check("scenarios of PAGE", set(report.PAGE) - set(bench.BENCHES), set())
    page = shutil.copy(os.path.join(ROOT, "docs", "benchmarks.md"), folder)
    shutil.copytree(os.path.join(ROOT, "docs", "benchmarks"), os.path.join(folder, "benchmarks"))
    with open(page) as f:
        text = f.read()
    os.mkdir(os.path.join(folder, "nothing new"))
    report.write_page(os.path.join(folder, "nothing new"), bench.BENCHES, page)
    with open(page) as f:
        check("scripts/bench --page leaves the page as it is", f.read() == text, True)
    for name, some in (("storm", ["storm_lost", "storm_misdirected"]), ("load", ["one", "four"])):
        check("metrics of " + name, report.page_metrics(name, report.read(os.path.join(ROOT, "docs", "benchmarks"), name), bench.BENCHES[name])[:2], some)


def units():
    """For each measured unit the report knows whether less is better, more, or neither."""
    seen = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "docs", "benchmarks")):
        for name in (n for n in names if n.endswith(".json")):
            seen.update(m["unit"] for r in report.read(folder, name.removesuffix(".json"))["results"] for m in r["metrics"].values())
    check("units", len(seen) > 20, True)
    check("in one of the lists each", {u: n for u in sorted(seen) if (n := sum(u in them for them in (report.LESS_IS_BETTER, report.MORE_IS_BETTER, report.NEITHER))) != 1}, {})


def stopped(folder):
    """A run without an end is kept and shown, but is no measurement for the page; a failed write leaves the old content."""
    kept = Samples(os.path.join(folder, "stopped.samples"), HEAD)
    kept.append("load keel s 0 2")
    doc = report.document("stopped", Entry(), kept, "scripts/bench stopped", "2026-01-01T00:00:00+00:00")
    check("stopped", doc["whole"], False)
    report.write(folder, "stopped", doc)
    page = os.path.join(folder, "stopped.md")
    with open(page, "w") as f:
        f.write("<!-- bench stopped -->\nnot measured yet\n\n")
    check("not for the page", report.write_page(folder, {"stopped": Entry()}, page), [])
    check("the report says so", "stopped before its end" in open(report.write_html(folder, {"stopped": Entry()})).read(), True)
    try:
        report.write(folder, "stopped", {"machine": object()})
    except TypeError:
        pass
    check("what was there", report.read(folder, "stopped")["ratios"], {})


def paged(doc, folder):
    with open(os.path.join(folder, "x.json"), "w") as f:
        json.dump(doc, f)
    with open(os.path.join(folder, "y.json"), "w") as f:
        json.dump(dict(doc, quick=True), f)
    page = os.path.join(folder, "page.md")
    with open(page, "w") as f:
        f.write(PAGE)
    for _ in range(2):
        check("written", report.write_page(folder, {"x": Entry(), "y": Entry()}, page), ["worse", "x"])
    text = open(page).read()
    worse, x, y = text.split("\n\n")[:3]
    check("worse", ("`memory`" in worse, "`load`" in worse), (True, False))
    check("section", ("| 2.50 (2–3) |" in x, x.count("not measured yet"), x.count("no end within 120 s")), (True, 0, 1))
    check("quick runs stay out", "not measured yet" in y, True)
    os.remove(os.path.join(folder, "x.json"))
    check("measured another day", report.write_page(folder, {"x": Entry(), "y": Entry()}, page), ["worse", "x"])
    check("the same page", open(page).read(), text)
    with open(os.path.join(folder, "x.json"), "w") as f:
        json.dump(dict(doc, machine="another one"), f)
    with open(page, "a") as f:
        f.write("<!-- bench x on other -->\nnot measured yet\n\n")
    check("another machine", report.write_page(folder, {"x": Entry(), "y": Entry()}, page, "other"), ["worse", "x", "x on other"])
    worse, x, _, other = open(page).read().split("\n\n")[:4]
    check("both machines", ("another one" in x, "another one" in other, "| `x on other` | `memory`" in worse), (False, True, True))
    shutil.rmtree(os.path.join(folder, "page", "other"))


def listed():
    """The program itself; defaults of options are checked like arguments."""
    r = subprocess.run([os.path.join(ROOT, "scripts", "bench"), "--list"], capture_output=True, text=True)
    check("listed", (r.returncode, [line.split()[0] for line in r.stdout.splitlines()[:2]], r.stderr), (0, ["loads", "load"], ""))
    r = subprocess.run([os.path.join(ROOT, "scripts", "bench"), "--page", "--machine", "a/b"], capture_output=True, text=True)
    check("no folder's name", (r.returncode, "is not of letters and digits" in r.stderr), (2, True))


def keelbenched(doc, folder):
    """keelbench writes its own documents, and its ratios (to our loop) appear on the page, but never among better devices. A missing document is
    reported."""
    from keelbench.report import Report
    r = Report("y", folder)
    for gap, bare in ((3, 2), (4, 2), (5, 2)):
        r.add("keel", "gap", "us", gap)
        r.add("bare", "gap", "us", bare)
    r.ratio("gap", "keel", "bare")
    r.more["runs"] = 3
    r.command = "keelbench storm --json /tmp/a-clone/build/bench/y.json"
    r.write()
    with open(os.path.join(folder, "x.json"), "w") as f:
        json.dump(doc, f)
    page = os.path.join(folder, "page.md")
    with open(page, "w") as f:
        f.write(PAGE + "<!-- bench z -->\nnot measured yet\n\n")
    check("of keelbench, too", report.write_page(folder, {n: Entry() for n in "xyz"}, page), ["worse", "x", "y"])
    worse, _, y, z = open(page).read().split("\n\n")[:4]
    check("its ratio", ("| 2 (1.50–2.50) of bare |" in y, "of up to 3 runs" in y), (True, True))
    check("its command, typed in any clone", "`keelbench storm --json build/bench/y.json`" in y, True)
    check("a loop of ours is no other", ("`gap`" in worse, "`memory`" in worse), (False, True))
    check("what is not measured", "not measured yet" in z, True)
    html = open(os.path.join(folder, "y.html")).read()
    check("keelbench: the verdict first, in words", -1 < html.index("Measured to the end.") < html.index("<table>"), True)
    check("no doubt about three steady runs", "class=doubt>" in html, False)
    once = Report("storm", folder)
    once.add("keel", "gap", "us", 3)
    once.add("bare", "gap", "us", 2)
    once.ratio("gap", "keel", "bare")
    once.more.update(failures=["3 packets lost"], settings={"quick": True, "dut": "keel"})
    once.write()
    html = open(os.path.join(folder, "storm.html")).read()
    check("a failure, one run, no raw JSON", ("FAILED: 3 packets lost" in html, "One run: no spread" in html, "one run of Keel and bare" in html, "{" in html.split("</style>")[1]),
          (True, True, True, False))
    for lost in (0, 1):
        r.add("keel", "lost", "packets", lost)
        r.add("bare", "lost", "packets", 0)
    r.ratio("lost", "keel", "bare")
    r.write()
    check("of none", (report.read(folder, "y")["ratios"]["lost"]["max"], "inf" in open(os.path.join(folder, "y.html")).read()), (float("inf"), True))


def thirds(folder):
    """A soak's memory, CPU, losses and latency, third by third."""
    from keelbench import cli
    from keelbench.report import Report
    samples = [{"wall": 10 + i, "resident_mb": 100 + 10 * (i // 3), "cpu_s": i * (i // 3)} for i in range(10)]
    s = types.SimpleNamespace(dut=types.SimpleNamespace(name="keel"), samples=samples, args=types.SimpleNamespace(minutes=1, lab_ports=False),
                              segments=[{"kind": k, "name": k + "-0"} for k in ("rest", "storm")])
    os.makedirs(os.path.join(folder, "storm-0"))
    with open(os.path.join(folder, "storm-0", "probe.csv"), "w") as f:
        f.write("# seconds sent lost misdirected p50_us p99_us max_us\n")
        f.writelines("%.1f 100 %d 0 10 %d %d\n" % (i / 10, i // 2, 20 + i // 2, 100 + i) for i in range(6))
    r = Report("soak", folder)
    cli.thirds(r, s)
    for what, expected in (("resident_%s_third", [100, 110, 120]), ("router_cpu_%s_third", [0, 1, 2]), ("storm_lost_%s_third", [0, 2, 4]),
                           ("storm_bins_p99_%s_third", [20, 21, 22]), ("storm_latency_max_%s_third", [101, 103, 105])):
        check(what, [r.samples["keel", what % third] for third in ("first", "second", "last")], [[x] for x in expected])
    check("the last by the second", r.samples["keel", "resident_last_to_second"], [120 / 110])


def flips(folder):
    """A flip not completed before the next flip is counted, and so is a flip without a packet on the new path."""
    from keelbench import cli
    from keelbench.report import Report
    from keelbench.storm import Storm
    done = []
    dut = types.SimpleNamespace(name="keel", watched=["198.18.0.1"], flip=lambda state: None, settled=lambda: done[-1])
    t = types.SimpleNamespace(say=lambda text: None, masks=lambda third, churned: None)
    s = Storm(types.SimpleNamespace(runs=1, minutes=None, lab_ports=False), types.SimpleNamespace(plan=types.SimpleNamespace(asking=[])), dut, folder, None)
    # before the first flip, without a query; then for each flip at the time of the next; for the last flip later
    for settled in (True, False, True, None, False):
        done.append(settled)
        s.flip(t)
    check("flips, overtaken", (s.flips, s.overtaken), (5, 2))
    check("... each with a time but of whom nobody knows", len(s.convergence), 3)
    check("... the last one is not done yet", (s.narrow_masks(t), s.narrow), (False, False))
    r = Report("flips", folder)
    cli.turns(r, "keel", [{"right": n, "wrong": wrong, "last_wrong_s": last} for n, wrong, last in ((5, 2, 0.5), (0, 9, 5), (0, 0, 0))])
    cli.whole(r, s)
    check("told", {k: v for (_, k), v in r.samples.items() if k.startswith("flip") and k != "flip_until_tables_lead_there"},
          {"flip_until_last_packet": [0.5, 5], "flips_without_a_packet": [2], "flips": [5], "flips_overtaken": [2]})
    check("... with the bounds", len(r.samples["keel", "flip_until_tables_lead_there"]), 3)
    dut.watched, unasked = (), Report("flips", folder)  # lab ports
    cli.whole(unasked, s)
    check("nothing is said where nobody asked", ("keel", "flips_overtaken") in unasked.samples, False)


def latency():
    """bench_latency: a late reader has a lower achieved rate, independent of the feed's end; the slowest samples are included, because the tables
    have all changes by then."""
    import bench_latency
    asked, said, late_s = [], {}, 0.2

    class Rpc:
        begin = None

        def call(self, method, **_):
            asked.append(method)
            over = self.begin is not None and time.monotonic() - self.begin > late_s
            shown = over and asked.count("fib.audit") > 1
            times = dict.fromkeys(("p50", "p90", "p99", "p999", "max"), 9e6 if shown else 1e6)
            return {"bgp.peers": {"peers": [{"updates_received": 100 if over else 0}]}, "dataplane.stats": {"workers": [{"loop_gap_ns": times}]},
                    "control.stats": {"threads": [{"name": "keel-fib", "cpu_s": asked.count("fib.audit"), "slice_ns": times}]},
                    "fib.stats": dict(commits=shown, commits_delayed=0, grace_late=0, tables=[{"writes": 100 if shown else 0}],
                                      **{key: dict(times, count=1) for _, key in bench_latency.HISTOGRAMS})}.get(method)

    def said_of(metric, unit, run, value, dut="keel"):
        said[metric] = value
    rpc, was = Rpc(), (bench_latency.SECONDS, bench_latency.sample)
    bench_latency.SECONDS, bench_latency.sample = 1, said_of
    feed = types.SimpleNamespace(say=lambda text: None, wait=lambda *words: setattr(rpc, "begin", time.monotonic()))
    try:
        bench_latency.measure(rpc, feed, 100, 0)
    finally:
        bench_latency.SECONDS, bench_latency.sample = was
    check("achieved, until all is read", said["100_achieved"] <= 100 / late_s, True)
    check("the slowest", said["100_update_to_workers_max"], 9000)
    check("the audit's own work is in no figure", (said["100_cpu_fib"], said["100_slice_fib_max"]), (0, 1000))


def main():
    with tempfile.TemporaryDirectory() as folder:
        three_against_one(folder)
        of_none(folder)
        worse_by_one(folder)
        stopped(folder)
        doc = compared(resumed(os.path.join(folder, "x.samples")))
        paged(doc, folder)
        keelbenched(doc, folder)
        thirds(folder)
        flips(folder)
        doubted(folder)
        repository(folder)
    latency()
    units()
    listed()


if __name__ == "__main__":
    main()
