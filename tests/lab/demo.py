#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The main job, end to end: two BIRD upstreams with a full table each, keeld between them and a sending host, policy changes for a
third of the table while numbered packets flow. Called by scripts/demo; writes build/demo/report.json and report.html.

    src ---- rt (keeld) ---- ua (BIRD, AS 64601) ---- ra (receives; feed speaks to ua from here)
                     \\------ ub (BIRD, AS 64602) ---- rb
"""
import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Hugepages, Lab, Rpc, cpus_of_lab, run, wait_for  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Origin ASes whose last two digits are 00 to 32: a third of them.
THIRD = "([0-2][0-9]|3[0-2])$"
A, B = 1, 2  # bits of the probe's ports
REST_S = 5


class Progress:
    """One line, drawn over itself on a terminal; elsewhere one line a step."""

    def __init__(self):
        self.tty, self.start, self.last = sys.stderr.isatty(), time.monotonic(), ""

    def __call__(self, text):
        line = "%6.1f s  %s" % (time.monotonic() - self.start, text)
        if self.tty:
            sys.stderr.write("\r\033[K" + line[:118])
        elif text != self.last:
            sys.stderr.write(line + "\n")
        self.last = text
        sys.stderr.flush()

    def end(self):
        if self.tty:
            sys.stderr.write("\n")


def bird_config(router_id, asn, feed_local, feed_remote, local, remote):
    return """
log stderr { info, warning, error, fatal };
router id %s;
protocol device { }
protocol bgp feed { local %s as %d; neighbor %s as %d; direct; passive; hold time 90;
  ipv4 { import all; export none; gateway direct; }; }
protocol bgp keel { local %s as %d; neighbor %s as 64512; hold time 90; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import none; export where proto = "feed"; next hop self; }; }
""" % (router_id, feed_local, asn, feed_remote, asn, local, asn, remote)


def keel_config(worker, control, memory_mb):
    def port(name, address):
        return {"name": name, "device": "net_af_xdp_%s,iface=%s" % (name, name), "addresses": [address]}

    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": memory_mb},
        "ports": [port("east", "198.18.0.1/24"), port("upa", "198.18.1.1/24"), port("upb", "198.18.2.1/24")],
        "as_path_lists": [{"name": "third", "entries": [{"action": "permit", "regex": THIRD}]}],
        "route_policies": [
            {"name": "from-a", "nodes": [{"seq": 20, "action": "permit", "match": {}, "set": {"local_pref": 100}}]},
            {"name": "from-b", "nodes": [{"seq": 20, "action": "permit", "match": {}, "set": {"local_pref": 90}}]}],
        "bgp": {"peers": [
            {"address": "198.18.1.2", "asn": 64601, "families": {"ipv4-unicast": {"import_policy": "from-a", "export_policy": "deny-all"}}},
            {"address": "198.18.2.2", "asn": 64602, "families": {"ipv4-unicast": {"import_policy": "from-b", "export_policy": "deny-all"}}}]},
    }


# The change: a third of the table is preferred through B.
MOVE = [{"op": "add", "path": "/route_policies/1/nodes/0",
         "value": {"seq": 10, "action": "permit", "match": {"as_path_list": "third"}, "set": {"local_pref": 200}}}]
MOVE_BACK = [{"op": "remove", "path": "/route_policies/1/nodes/0"}]


def read_table(path):
    """[(first address, length, origin)] in the feed's order."""
    table = []
    with open(path) as f:
        for line in f:
            prefix, origin = line.split()
            addr, length = prefix.split("/")
            a, b, c, d = addr.split(".")
            table.append((int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d), int(length), origin))
    return table


def draw_destinations(table, count, seed, path):
    """Addresses drawn over the whole table, each with the class of the prefix that is its longest match: bit 0, it belongs to the moved
    third; bit 1, its prefix is in the tenth that A withdraws. Returns prefixes in the third."""
    rng = random.Random(seed)
    by_prefix = {(a, n): i for i, (a, n, _) in enumerate(table)}
    lengths = sorted({n for _, n, _ in table}, reverse=True)
    third = re.compile(THIRD)
    moved = sum(1 for _, _, origin in table if third.search(origin))
    with open(path, "w") as f:
        for _ in range(count):
            a, n, _ = table[rng.randrange(len(table))]
            addr = a + (rng.randrange(1 << (32 - n)) if n < 32 else 0)
            index = next(by_prefix[key] for key in ((addr >> (32 - m) << (32 - m), m) for m in lengths) if key in by_prefix)
            cls = bool(third.search(table[index][2])) | (index % 10 == 3) << 1
            f.write("%d.%d.%d.%d %d\n" % (addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255, cls))
    return moved


def masks(moved, withdrawn):
    """The right ports of each class: third through B when moved, the withdrawn tenth through B."""
    return [B if (c & 1 and moved) or (c & 2 and withdrawn) else A for c in range(4)]


class Sampler(threading.Thread):
    """FIB generation over time, by a connection of its own."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.rpc, self.samples, self.over = Rpc(sock), [], threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            try:
                self.samples.append((time.time(), self.rpc.call("system.info")["generation"]))
            except (OSError, RuntimeError, ValueError):
                return


class Demo:
    def __init__(self, args, lab, say, binaries, out):
        self.args, self.lab, self.say, self.bin, self.out = args, lab, say, binaries, out
        self.worker, self.others = cpus_of_lab()
        self.moved_prefixes = self.table_size = 0
        self.mismatches = self.audits = self.refreshes = 0
        self.durations = {}

    # ---- lab ----

    def build_lab(self):
        lab = self.lab
        for h, forward in (("src", False), ("rt", False), ("ua", True), ("ub", True), ("ra", False), ("rb", False)):
            lab.host(h, forward)
        lab.link("src", "eth0", "198.18.0.2/24", "rt", "east", None)
        lab.link("ua", "up", "198.18.1.2/24", "rt", "upa", None)
        lab.link("ub", "up", "198.18.2.2/24", "rt", "upb", None)
        lab.link("ra", "eth0", "198.18.11.2/24", "ua", "down", "198.18.11.1/24")
        lab.link("rb", "eth0", "198.18.12.2/24", "ub", "down", "198.18.12.1/24")
        lab.sh("src", "ip route add default via 198.18.0.1")
        lab.sh("ua", "ip route add default via 198.18.11.2")
        lab.sh("ub", "ip route add default via 198.18.12.2")
        _, self.birdc_a = lab.bird("ua", bird_config("198.18.1.2", 64601, "198.18.11.1", "198.18.11.2", "198.18.1.2", "198.18.1.1"),
                                   cpus=self.others)
        _, self.birdc_b = lab.bird("ub", bird_config("198.18.2.2", 64602, "198.18.12.1", "198.18.12.2", "198.18.2.2", "198.18.2.1"),
                                   cpus=self.others)

    def start_feeds(self):
        table = ["--mrt", self.args.mrt] if self.args.mrt else ["--count", str(self.args.prefixes)]
        listing = os.path.join(self.lab.dir, "table.txt")
        run(self.bin["feed"], *table, "--list", listing)
        self.feed_a = self.lab.spawn("feed-a", "ra", [self.bin["feed"], *table, "--connect", "198.18.11.1", "--source", "198.18.11.2",
                                                      "--asn", "64601", "--peer-asn", "64601"], cpus=self.others, lines=True)
        self.feed_b = self.lab.spawn("feed-b", "rb", [self.bin["feed"], *table, "--connect", "198.18.12.1", "--source", "198.18.12.2",
                                                      "--asn", "64602", "--peer-asn", "64602"], cpus=self.others, lines=True)
        self.table = read_table(listing)
        self.table_size = len({(a, n) for a, n, _ in self.table})
        self.destinations = os.path.join(self.lab.dir, "destinations.txt")
        self.moved_prefixes = draw_destinations(self.table, 20000, 7, self.destinations)
        self.feed_done(self.feed_a, "table")
        self.feed_done(self.feed_b, "table")

    def feed_done(self, feed, command):
        while True:
            line = feed.line(300)
            if line is None:
                raise RuntimeError("%s ended: see %s" % (feed.name, feed.log))
            e = json.loads(line)
            if e["event"] == "down":
                raise RuntimeError("%s: session lost: %s" % (feed.name, line.strip()))
            if e["event"] == "done" and e.get("command") == command:
                return

    # ---- keeld ----

    def peers(self):
        return {p["address"]: p for p in self.rpc.call("bgp.peers")["peers"]}

    def accepted(self):
        p = self.peers()
        return [p[a]["families"]["ipv4-unicast"]["accepted"] for a in ("198.18.1.2", "198.18.2.2")]

    def wait_accepted(self, what, a, b, timeout=300):
        def there():
            now = self.accepted()
            self.say("%s: %d and %d routes accepted" % (what, now[0], now[1]))
            return now == [a, b]
        wait_for("%d and %d accepted routes" % (a, b), there, timeout, poll=0.1)

    def audit(self, what):
        self.say(what + ": auditing the workers' table against the RIB")
        r = self.rpc.call("fib.audit", limit=20)
        self.mismatches += r["mismatch_count"]
        self.audits += 1
        if r["mismatch_count"]:
            sys.stderr.write("\naudit after %s: %s\n" % (what, json.dumps(r["mismatches"][:5])))

    def wait_job(self, what, job, timeout=600):
        def ended():
            j = self.rpc.call("jobs.get", id=job)
            self.say("%s: job %d %s" % (what, job, j["state"]))
            return j if j["state"] != "running" else None
        j = wait_for("end of job %d" % job, ended, timeout, poll=0.1)
        if j["state"] != "done":
            raise RuntimeError("%s: job failed: %s" % (what, json.dumps(j)))

    def start_keeld(self):
        memory = 512
        config = keel_config(self.worker, self.others, memory)
        self.daemon, self.rpc = self.lab.keeld("rt", config, self.bin["keeld"], cpus=None)
        self.sock = os.path.join(self.lab.dir, "keeld.sock")

    # ---- probe ----

    def probe_say(self, text):
        self.probe.say(text)
        answer = self.probe.line(30)
        if not answer or not answer.startswith("ok"):
            raise RuntimeError("probe: %s: %s" % (text, answer))

    def start_probe(self):
        self.probe = self.lab.spawn("probe", None, [self.bin["probe"], "--from", self.lab.netns("src"), "--to", self.lab.netns("ra") + ":eth0",
                                                    "--to", self.lab.netns("rb") + ":eth0", "--destinations", self.destinations,
                                                    "--pps", str(self.args.pps), "--out", self.out], cpus=self.others, lines=True)

    def set_masks(self, ports):
        for c, mask in enumerate(ports):
            self.probe_say("mask %d %d" % (c, mask))

    def change(self, name, after, action):
        """Runs a change: while it is under way both the old and the new port of a class are right, before and after only one."""
        self.say(name)
        both = [x | y for x, y in zip(self.now, after)]
        self.set_masks(both)
        self.probe_say("phase storm")
        self.probe_say("mark " + name)
        begin = time.monotonic()
        action()
        self.durations[name] = round(time.monotonic() - begin, 3)
        self.audit(name)
        self.probe_say("phase rest")
        self.set_masks(after)
        self.now = after
        self.rest("after " + name)

    def rest(self, what):
        """Traffic alone for a while: the time is the measurement."""
        for left in range(self.args.rest_s, 0, -1):
            self.say("%s: at rest, %d s to go" % (what, left))
            if not self.daemon.running():
                raise RuntimeError("keeld ended: see %s" % self.daemon.log)
            threading.Event().wait(1)

    def commit(self, patch):
        self.rpc.call("config.edit", patch=patch)
        r = self.rpc.call("config.commit", comment="demo")
        for e in r["effects"]:
            if e["effect"] != "route-refresh-sent":
                raise RuntimeError("unexpected effect: %s" % json.dumps(e))
            self.wait_job("policy", e["job"])
        self.refreshes += len(r["effects"])
        if not r["effects"]:
            raise RuntimeError("the commit had no effect")

    def manual_refresh(self):
        out = json.loads(run(self.bin["keelctl"], "--socket", self.sock, "--json", "refresh", "bgp", "all", "import"))
        self.wait_job("refresh", out["job"])
        self.refreshes += len(out["peers"])

    # ---- the run ----

    def drive(self):
        n = self.table_size
        tenth = len({(a, m) for i, (a, m, _) in enumerate(self.table) if i % 10 == 3})
        self.now = masks(False, False)
        self.start_probe()
        self.set_masks(self.now)
        self.probe_say("mark start")
        self.rest("start")
        self.change("move a third to B", masks(True, False), lambda: self.commit(MOVE))
        self.change("move it back", masks(False, False), lambda: self.commit(MOVE_BACK))

        def withdraw():
            self.feed_a.say("withdraw 10 3")
            self.feed_done(self.feed_a, "withdraw")
            self.wait_accepted("withdraw", n - tenth, n)

        def announce():
            self.feed_a.say("announce 10 3")
            self.feed_done(self.feed_a, "announce")
            self.wait_accepted("announce", n, n)

        self.change("A withdraws a tenth", masks(False, True), withdraw)
        self.change("A announces it again", masks(False, False), announce)
        self.change("refresh all import", masks(False, False), self.manual_refresh)

    def main(self):
        say, n = self.say, self.args.prefixes
        begin = time.monotonic()
        say("building the lab")
        self.build_lab()
        say("feeding two upstreams")
        self.start_feeds()
        n = self.table_size
        say("starting keeld")
        self.start_keeld()
        self.wait_accepted("loading", n, n)
        self.durations["load"] = round(time.monotonic() - begin, 3)
        self.audit("load")
        before = self.peers()
        sampler = Sampler(self.sock)
        sampler.start()
        self.rpc.call("dataplane.stats.reset")
        self.drive()
        say("waiting for the last packets")
        self.probe.say("stop")
        self.probe.popen.wait(120)
        sampler.over.set()
        self.after = self.peers()
        self.stats, self.fib = self.rpc.call("dataplane.stats"), self.rpc.call("fib.stats")
        self.summary = self.rpc.call("rib.summary")
        dropped = sum(max(0, p["established_count"] - before[a]["established_count"]) + (p["state"] != "established")
                      for a, p in self.after.items())
        return self.report(dropped, sampler.samples, time.monotonic() - begin)

    def losses(self, probe):
        """Where a lost packet can have gone, counted by each place itself."""
        where = {"router drops: " + k: v for w in self.stats["workers"] for k, v in w["drops"].items() if v}
        for p in self.stats["ports"]:
            for key in ("rx_missed", "tx_dropped", "xdp_rx_dropped", "xdp_rx_ring_full"):
                if p[key]:
                    where["router port %s: %s" % (p["name"], key)] = p[key]
        for host, dev in (("src", "eth0"), ("ua", "up"), ("ua", "down"), ("ub", "up"), ("ub", "down"), ("ra", "eth0"), ("rb", "eth0"),
                          ("rt", "east"), ("rt", "upa"), ("rt", "upb")):
            link = json.loads(self.lab.sh(host, "ip -json -s link show dev " + dev))[0]["stats64"]
            for way in ("rx", "tx"):
                if link[way]["dropped"]:
                    where["%s %s %s_dropped" % (host, dev, way)] = link[way]["dropped"]
        for p in probe["ports"]:
            if p["receiver_overflow"]:
                where["receiver %s overflow" % p["to"]] = p["receiver_overflow"]
        return where

    def report(self, dropped, samples, wall):
        with open(os.path.join(self.out, "probe.json")) as f:
            probe = json.load(f)
        r = {
            "prefixes": {"ipv4": self.table_size, "ipv6": 0},
            "refreshes": {"in": self.refreshes, "out": 0},
            "sessions_dropped": dropped,
            "packets": {k: probe[k] for k in ("sent", "received", "lost", "misdirected", "reordered")},
            "longest_gap_us": probe["longest_gap_us"],
            "latency_us": probe["latency_us"],
            "audit_mismatches": self.mismatches,
            "fib_generations": self.fib["generation"],
            "policy_moved_prefixes": self.moved_prefixes,
            "wall_s": round(wall, 1),
            "lost_where": self.losses(probe) if probe["lost"] else {},
            "audits": self.audits,
            "durations_s": self.durations,
            "pps": self.args.pps,
            "hugepages": self.args.huge,
            "loop_gap_ns": self.stats["workers"][0]["loop_gap_ns"],
            "update_to_fib_ns": self.fib["update_to_fib_ns"],
            "commit_ns": self.fib["commit_ns"], "grace_ns": self.fib["grace_ns"],
            "attribute_sets": self.summary["tables"][0]["attribute_sets"],
            "rib_memory_bytes": self.summary["tables"][0]["memory_bytes"],
            "resident_bytes": self.resident(),
            "longest_gap_at_s": probe["longest_gap_at_s"],
        }
        with open(os.path.join(self.out, "report.json"), "w") as f:
            json.dump(r, f, indent=2)
            f.write("\n")
        with open(os.path.join(self.out, "generations.csv"), "w") as f:
            f.writelines("%.1f %d\n" % (t - probe["start_s"], g) for t, g in samples)
        write_html(self.out, r, probe["marks"])
        return r

    def resident(self):
        with open("/proc/%d/status" % self.daemon.popen.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024


def plot(out, name, title, ylabel, lines, marks, log=False):
    script = ["set terminal svg size 1000,280 background '#ffffff'", "set output '%s.svg'" % name, "set title '%s'" % title,
              "set xlabel 'seconds'", "set ylabel '%s'" % ylabel, "set key left top", "set grid"]
    if log:
        script.append("set logscale y")
    for m in marks:
        script.append("set arrow from %f, graph 0 to %f, graph 1 nohead lc rgb '#888888' dt 2" % (m["t"], m["t"]))
        script.append("set label '%s' at %f, graph 0.98 rotate by -90 font ',8' offset 0.6,0" % (m["text"].replace("'", ""), m["t"]))
    script.append("plot " + ", ".join(lines))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, cwd=out, check=True, stderr=subprocess.PIPE)
    with open(os.path.join(out, name + ".svg")) as f:
        svg = f.read()
    return svg[svg.index("<svg"):]


def write_html(out, r, marks):
    svgs = [plot(out, "loss", "Packets sent, lost and misdirected, by tenth of a second", "packets",
                 ["'probe.csv' using 1:2 with lines title 'sent'", "'' using 1:3 with impulses lw 2 title 'lost'",
                  "'' using 1:4 with impulses lw 2 title 'misdirected'"], marks),
            plot(out, "latency", "Latency by tenth of a second", "us",
                 ["'probe.csv' using 1:7 with lines title 'max'", "'' using 1:6 with lines title 'p99'",
                  "'' using 1:5 with lines title 'p50'"], marks, log=True),
            plot(out, "generations", "FIB generation", "number", ["'generations.csv' using 1:2 with lines title 'generation'"], marks)]
    rows = "".join("<tr><td>%s</td><td><code>%s</code></td></tr>" % (k, json.dumps(v)) for k, v in r.items())
    with open(os.path.join(out, "report.html"), "w") as f:
        f.write("<!doctype html><meta charset='utf-8'><title>Keel demo</title><style>body{font:15px sans-serif;max-width:1040px;margin:2em auto}"
                "td{padding:.2em .6em;border-bottom:1px solid #ddd;vertical-align:top}</style><h1>Keel demo</h1>%s<table>%s</table>\n"
                % ("".join(svgs), rows))


def table_text(r, say):
    p, lat = r["packets"], r["latency_us"]
    rows = [
        ("prefixes, from each of two upstreams", "%d" % r["prefixes"]["ipv4"]),
        ("prefixes that the policy moved", "%d" % r["policy_moved_prefixes"]),
        ("refreshes in", "%d" % r["refreshes"]["in"]),
        ("sessions dropped", "%d" % r["sessions_dropped"]),
        ("packets sent / received", "%d / %d" % (p["sent"], p["received"])),
        ("packets lost", "%d" % p["lost"] + "".join("; %s %d" % kv for kv in r["lost_where"].items())),
        ("packets misdirected / reordered", "%d / %d" % (p["misdirected"], p["reordered"])),
        ("longest gap between arrivals", "%.0f us" % r["longest_gap_us"]),
        ("latency at rest p50 / p99 / p99.9 / max", " / ".join("%.0f" % lat["rest"][k] for k in ("p50", "p99", "p999", "max")) + " us"),
        ("latency during changes", " / ".join("%.0f" % lat["storm"][k] for k in ("p50", "p99", "p999", "max")) + " us"),
        ("FIB generations / audits / mismatches", "%d / %d / %d" % (r["fib_generations"], r["audits"], r["audit_mismatches"])),
        ("hugepages", "yes" if r["hugepages"] else "no"),
        ("wall", "%.0f s" % r["wall_s"]),
    ]
    return "\n".join("  %-42s %s" % row for row in rows)


def main():
    ap = argparse.ArgumentParser(prog="scripts/demo")
    ap.add_argument("--quick", action="store_true", help="50,000 prefixes")
    ap.add_argument("--mrt", metavar="FILE", help="the table of a TABLE_DUMP_V2 dump")
    ap.add_argument("--keep", action="store_true", help="leave the lab running until Ctrl-C")
    ap.add_argument("--no-huge", action="store_true", help="without hugepages")
    ap.add_argument("--prefixes", type=int, default=0, help="another number of prefixes")
    ap.add_argument("--pps", type=int, default=10000)
    ap.add_argument("--rest-s", type=int, default=REST_S, help="seconds at rest between changes")
    ap.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = ap.parse_args()
    args.prefixes = args.prefixes or (50000 if args.quick else 1000000)
    if args.mrt:
        args.mrt = os.path.abspath(args.mrt)
    out = os.path.join(args.build, "demo")
    os.makedirs(out, exist_ok=True)
    binaries = {n: os.path.join(args.build, d, n) for n, d in (("keeld", "control"), ("keelctl", "control"), ("feed", "tests/bench"),
                                                              ("probe", "tests/bench"))}
    say = Progress()
    with Hugepages(0 if args.no_huge else 512) as pages, Lab(os.path.join(out, "logs")) as lab:
        args.huge = not args.no_huge and pages >= 512
        demo = Demo(args, lab, say, binaries, out)
        r = demo.main()
        say.end()
        print(table_text(r, say))
        print("  %-42s %s" % ("report", os.path.join(out, "report.html")))
        if args.keep:
            print("\nThe lab runs until Ctrl-C:\n  %s --socket %s show bgp summary\n  ip netns exec %s ping 198.18.0.1"
                  % (binaries["keelctl"], demo.sock, lab.netns("src")))
            try:
                signal.pause()
            except KeyboardInterrupt:
                pass
        status = demo.daemon.stop()
    bad = [k for k, v in (("sessions dropped", r["sessions_dropped"]), ("packets lost", r["packets"]["lost"]),
                          ("packets misdirected", r["packets"]["misdirected"]), ("audit mismatches", r["audit_mismatches"]),
                          ("keeld's exit status", status)) if v != 0]
    print("FAILED: " + ", ".join(bad) if bad else "all zeros: no session dropped, no packet lost or misdirected, no audit mismatch")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, TimeoutError, OSError) as e:
        sys.stderr.write("\ndemo: %s\n" % e)
        sys.exit(1)
