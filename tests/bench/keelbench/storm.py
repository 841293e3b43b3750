# SPDX-License-Identifier: BSD-3-Clause
"""keelbench storm: a full table from two peers, an import policy that flips, peers that request refreshes, churn; with numbered packets. Each
storm is compared with the same traffic at rest and with a bare loop on the worker's CPU (if keelbench can stop the router)."""
import math
import signal
import time

from .adapters import interface_losses
from .field import A, B, BARE, THIRD, Traffic, class_mask
from bench_lab import Events
from lab import clock, wait_for

TICK_S = 0.1
ARRIVAL_S = 1  # a frame not received within this time after the last sent frame is lost, as in the probe
PROBES_MAX = 65536  # limit of one call (tests/bench/crowd.c)


class LabTraffic:
    """The interface of field.Traffic for lab ports: frames of all classes come from memory at the rate of the worker."""
    SRC, PORTS = 0, {A: 0b010, B: 0b100, A | B: 0b110}

    def __init__(self, ports):
        self.ports = ports

    def say(self, text):
        """Does nothing: phases, turns and marks are commands for the probe."""

    def masks(self, third, churned):
        for c in range(4):
            self.ports.allow(c, self.PORTS[class_mask(c, third, churned)])


class Storm:
    def __init__(self, args, field, dut, out, say, strains=None):
        self.args, self.field, self.dut, self.out, self.say, self.strains = args, field, dut, out, say, strains
        self.flips = self.overtaken = self.audits = self.mismatches = self.undone = 0
        self.lost_sessions, self.samples, self.segments, self.convergence = 0, [], [], []
        self.state, self.narrow = 0, True
        self.asking = len(field.plan.asking)

    # ---- loading ----

    def load(self):
        f, begin = self.field, time.monotonic()
        self.say("loading: %s from each of two peers" % " + ".join("%d %s" % (f.tables[k].size, k[:4]) for k in f.plan.families))
        f.start_feeds()
        if self.asking:
            f.start_crowd("asking", f.plan.asking)
        f.start_crowd("prober", f.plan.prober)
        f.start_sink()
        f.wait_feeds(self.args.timeout)
        self.say("the feeds have said all")
        want = {k: f.tables[k[1]].size for k in f.plan.feeds}
        if self.dut.loaded(want) is not None:
            wait_for("the tables in the router", lambda: self.dut.loaded(want), self.args.timeout, poll=0.2)
        self.say("the router has all")
        self.sink_seconds = max(0, f.quiet("the receiver", limit_s=self.args.timeout) - begin)
        if self.asking:
            f.wait_crowd("asking", self.asking, self.args.timeout)
        f.wait_crowd("prober", 2, self.args.timeout)
        self.say("the receiver has all")
        self.audit()
        return round(time.monotonic() - begin, 2)

    def audit(self):
        n = self.dut.audit()
        if n is not None:
            self.audits += 1
            self.mismatches += n

    # ---- segments ----

    def where(self, running):
        """Counters of losses outside the probe, cumulative. A stopped router is not queried."""
        out = dict(self.dut.counters()) if running else {}
        for host, dev in self.field.devs.items():
            for k, v in interface_losses(self.field.pid_in(host), dev).items():
                out["our interface %s %s" % (host, k)] = v
        return out

    def segment(self, name, kind, seconds, body, **probe):
        """Traffic during body(traffic, seconds); returns the results."""
        running = kind != "bare"
        before, cpu = self.where(running), self.dut.cpu_seconds()
        if running:
            self.dut.reset()
        t = Traffic(self.field, self.out, name, self.args.pps, self.args.window, **probe)
        begin = time.monotonic()
        body(t, seconds)
        figures = self.dut.figures() if running else {}
        wall = time.monotonic() - begin
        r = t.stop()
        after = self.where(running)
        r.update(name=name, kind=kind, seconds=round(wall, 2), figures=figures, start_s=round(r["start_s"], 3))
        r["lost_where"] = {k: v - before.get(k, 0) for k, v in after.items() if v > before.get(k, 0)}
        if r["send_errors"]:
            r["lost_where"]["our sender: packets that its kernel refused"] = r["send_errors"]
        for p in r["ports"]:
            if p["receiver_overflow"]:
                r["lost_where"]["our receiver %s: overflow" % p["to"].split(":")[1]] = p["receiver_overflow"]
        if cpu is not None:
            r["router_cpu_s"] = round(self.dut.cpu_seconds() - cpu, 2)
        if kind == "storm":
            r.update(self.beside)
        self.segments.append(r)
        self.say("%s: %d sent, %d lost, %d misdirected, p99.9 %.0f us, longest gap %.0f us (the sender's own %.0f us)" % (
            name, r["sent"], r["lost"], r["misdirected"], max(r["latency_us"][k]["p999"] for k in r["latency_us"]),
            r["longest_gap_beyond_sender_us"], r["longest_send_gap_us"]))
        return r

    def port(self):
        return B if self.state else A

    def rest(self, t, seconds):
        t.masks(self.port(), False)
        for _ in clock(1, seconds):
            self.dut.must_run()

    def storm(self, t, seconds):
        """Flips, refreshes and churn for `seconds`; then all pending work completes, still under traffic."""
        t.say("phase storm")
        t.say("mark storm")
        period, begin = self.begin_storm(t, seconds), time.monotonic()
        self.run_storm(t, seconds, period)
        self.stop_storm(t, begin)

    def begin_storm(self, t, seconds):
        """Starts all peers; returns the seconds between flips."""
        a, f = self.args, self.field
        t.masks(self.port(), True)
        if self.asking and a.refresh_rate:
            f.crowds["asking"].say("refresh %d %d" % (max(1, round(a.refresh_rate * a.rate)), max(1, round(seconds))))
        for i in range(a.slow):
            f.crowds["asking"].ask("stall %d" % i, "stalled")
        if a.updates_file:
            f.feeds["a", f.plan.families[0]].say("play %d" % round(100 * a.speed))
        elif a.churn:
            f.churn(round(a.churn * a.rate))
        step_ms = max(50, math.ceil(seconds * 1000 / PROBES_MAX))
        f.crowds["prober"].say("probe 0 1 %d %d" % (max(1, round(seconds * 1000 / step_ms)), step_ms))
        return a.flip_s / a.rate if a.flip_s and self.dut.flips else None

    def stop_storm(self, t, begin):
        made = skipped = 0
        if self.args.updates_file:
            made = self.field.feeds["a", self.field.plan.families[0]].wait("played", timeout=self.args.timeout)["messages"]
        elif self.args.churn:
            made, skipped = self.field.churn(0)
        took = time.monotonic() - begin
        self.end_storm(t)
        self.beside = {"prober": self.probe_route, "churn_per_s": round(made / took), "churn_skipped": skipped, "silence_ms": self.sessions(),
                       "receiver_behind_s": round(self.behind_s, 3)}

    def run_storm(self, t, seconds, period):
        begin, due = time.monotonic(), 0
        for tick in clock(TICK_S, seconds):
            now = time.monotonic() - begin
            if self.strains:
                self.strains.step(now)
            if period and now >= due:
                self.flip(t)
                due += period
            elif not self.narrow and self.dut.watched:
                self.narrow_masks(t)
            if tick % 10 == 0:
                self.sample(now)

    def flip(self, t):
        """Flips the policy. Both ports are right for the third until the router has completed the flip. An earlier, incomplete flip is recorded with
        its duration so far."""
        if not self.narrow and self.dut.watched and self.narrow_masks(t) is False:
            self.overtaken += 1
            self.convergence.append(time.monotonic() - self.flip_at)
        self.state ^= 1
        t.masks(A | B, True)
        self.narrow = False
        t.say("turn %d %d" % (THIRD, self.port()))
        t.say("mark flip")
        begin = time.monotonic()
        self.dut.flip(self.state)
        self.flips += 1
        if self.strains:
            self.strains.kept(self.dut.persisted)
        self.flip_at = begin

    def narrow_masks(self, t):
        """Asks Router.settled(); if it is true, only the new port remains right. Returns the answer."""
        done = self.dut.settled()
        if done:
            self.convergence.append(time.monotonic() - self.flip_at)
            t.masks(self.port(), True)
            self.narrow = True
        return done

    def end_storm(self, t):
        """Completes pending work: the prober's routes arrive, the last flip is done; afterwards no peer sends changes."""
        t.say("mark end")
        end = time.monotonic()
        if self.strains:
            self.strains.release()
        self.probe_route = self.field.crowds["prober"].wait("done", "probe", self.args.timeout)
        if self.asking and self.args.refresh_rate:
            self.field.crowds["asking"].wait("done", "refresh", self.args.timeout)
        if not self.narrow and self.dut.settled() is not None:
            try:
                wait_for("the last flip", lambda: self.narrow_masks(t), self.args.timeout, poll=0.1)
            except TimeoutError:
                self.undone += 1
        self.audit()
        self.narrow = True
        t.say("phase rest")
        for i in range(self.args.slow):
            self.field.crowds["asking"].ask("resume %d" % i, "resumed")
        self.behind_s = max(0, self.field.quiet("the receiver", limit_s=self.args.timeout) - end)

    def sample(self, now):
        s = {"t": round(now, 1), "wall": time.time()}
        rss = self.dut.resident_bytes()
        if rss is not None:
            s["resident_mb"] = round(rss / 1e6, 1)
            s["cpu_s"] = round(self.dut.cpu_seconds(), 2)
        self.samples.append(s)
        self.dut.must_run()

    def bare(self, t, seconds):
        for c in range(4):
            t.say("mask %d 1" % c)
        t.say("phase storm")
        for _ in clock(1, seconds):
            pass

    # ---- the bare loop ----

    def build_bare(self, worker):
        """A loop that forwards packets between its own two links, on the worker's CPU. Built before the router: creating namespaces is slow beside
        a worker."""
        lab = self.field.lab
        for h in ("bs", "bm", "bd"):
            lab.host(h)
        lab.link("bs", "eth0", ["198.18.9.2/24"], "bm", "in", None)
        lab.link("bm", "out", None, "bd", "eth0", None)
        lab.sh("bs", "ip neigh add 198.18.9.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent; ip route add default via 198.18.9.1")
        self.relay = Events(lab.spawn("bare-relay", None, [BARE, "relay", "--cpu", str(worker), "--from", lab.netns("bm") + ":in", "--to",
                                                           lab.netns("bm") + ":out"], lines=True))
        self.relay.ask("stop", "done")
        with open(self.field.drawn) as f:
            self.drawn4 = lab.write("destinations4.txt", "".join(line for line in f if ":" not in line))

    def bare_segment(self, name, seconds):
        self.dut.signal(signal.SIGSTOP)
        try:
            for e in (self.relay, self.memory):
                e.ask("go", "done")
            lab = self.field.lab
            r = self.segment(name, "bare", seconds, self.bare, ports=[lab.netns("bd") + ":eth0"], source="bs", destinations=self.drawn4)
            g = self.relay.ask("report", "report")
            r["figures"] = {"loop_gap_" + k: ("us", g["gap_ns"][k] / 1e3) for k in ("p99", "p999", "max")}
            for e in (self.relay, self.memory):
                e.ask("stop", "done")
        finally:
            self.dut.signal(signal.SIGCONT)

    # ---- the worker's rate (lab ports) ----

    def open_lab(self, ports):
        lab = self.field.lab
        ports.open()
        for i, x in enumerate(self.field.plan.links):
            ports.mac(i, lab.sh("rt", "cat /sys/class/net/%s/address" % x.name).strip())
            if i:
                ports.limit(i, 0)
        ports.pattern(0x8421084210842108)  # a fifth is IPv6, like the routes
        self.lab, self.lab_traffic, self.missing = ports, LabTraffic(ports), 0
        self.lab_traffic.masks(self.port(), False)

    def build_memory(self, other, *turns):
        """An independent loop in memory on the other CPU."""
        self.memory = Events(self.field.lab.spawn("bare-memory", None, [BARE, "memory", "--cpu", str(other), *turns], lines=True))
        self.memory.ask("stop", "done")

    def storm_rated(self, i, seconds):
        """The worker's rate in a storm, and of the loop, which runs for 60 ms of each 240 on the other CPU: the machine's neighbours affect both
        similarly. Then a second without a storm, in which each class has a single port; then the sources rest, until all sent frames have
        arrived or are lost."""
        t, drops = self.lab_traffic, self.dut.counters()
        self.lab.run(True)
        cpu, before = self.dut.cpu_seconds(), self.lab.stats()
        period, begin = self.begin_storm(t, seconds), time.monotonic()
        self.memory.ask("go", "done")
        self.run_storm(t, seconds, period)
        cpu = self.dut.cpu_seconds() - cpu
        m = self.memory.ask("report", "report")
        self.memory.ask("stop", "done")
        after = self.lab.stats()
        self.stop_storm(t, begin)  # a flip's jobs end before the tables have all changes: no frames are counted here
        t.masks(self.port(), False)
        rest_before = self.lab.stats()
        for _ in clock(1, 1):
            self.dut.must_run()
        rest_after = self.lab.stats()
        lost = self.lost_by_rest()
        r = {k: after[k] - before[k] + rest_after[k] - rest_before[k] for k in ("sent", "seen", "misdirected", "reordered", "damaged", "foreign", "starved")}
        r.update(name="storm-%d" % i, kind="storm", seconds=round((after["ns"] - before["ns"]) / 1e9, 3), lost=lost,
                 lost_where={k: v - drops.get(k, 0) for k, v in self.dut.counters().items() if v > drops.get(k, 0)}, router_cpu_s=round(cpu, 2),
                 storm_s=m["resting"]["ns"] / 1e9, memory_s=m["running"]["ns"] / 1e9, mpps=1e3 * m["resting"]["frames"] / m["resting"]["ns"],
                 beside_memory_mpps=1e3 * m["running"]["frames"] / m["running"]["ns"],
                 accesses_per_s=round(2 * 4096 * 1e9 * m["running"]["turns"] / m["running"]["ns"]), **self.beside)
        self.segments.append(r)
        self.say("%s: %.2f Mpps, beside the loop %.2f, %d lost, %d misdirected, %d damaged; control threads %.1f CPU s in %g s" % (
            r["name"], r["mpps"], r["beside_memory_mpps"], r["lost"], r["misdirected"], r["damaged"], r["router_cpu_s"], seconds))
        return r

    def lost_by_rest(self):
        """Frames sent since the last rest of the sources, measured or not, and not received."""
        self.lab.run(False)
        now = self.lab.stats()

        def arrived():
            """True when no burst begun earlier is still being sent."""
            nonlocal now
            before, now = now, self.lab.stats()
            return now["sent"] == before["sent"] and now["sent"] - now["seen"] == self.missing
        try:
            wait_for("the last frames", arrived, ARRIVAL_S, patience=0)
        except TimeoutError:
            self.dut.must_run()
        lost = now["sent"] - now["seen"] - self.missing
        self.missing += lost
        return lost

    def sessions(self):
        """Counts lost sessions: asking peers and prober by their own reports, feeds by their end. Returns the longest silence in ms."""
        self.lost_sessions += self.field.lost_feeds()
        silence = 0
        for name in self.field.crowds:
            r = self.field.crowds[name].ask("report", "report")
            self.lost_sessions += r["lost"]
            silence = max(silence, r["longest_silence_ms"])
        return silence

    def failures(self):
        mine = [g for g in self.segments if g["kind"] != "bare"]
        found = (*(("packets " + k, sum(g[k] for g in mine)) for k in ("lost", "misdirected")),
                 ("packets damaged", sum(g.get("damaged", 0) for g in mine)),  # lab ports check the contents
                 ("flips not done within %d s" % self.args.timeout, self.undone), ("sessions lost", self.lost_sessions), ("audit mismatches", self.mismatches))
        return ["%d %s" % (n, what) for what, n in found if n] + (self.strains.failures(self.flips) if self.strains else [])
