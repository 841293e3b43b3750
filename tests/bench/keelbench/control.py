# SPDX-License-Identifier: BSD-3-Clause
"""keelbench load, refresh, churn: a BGP speaker under tables, requests and updates, without traffic. Keel runs without its data plane here."""
import time

from .adapters import ADAPTERS, Wire
from .field import Field
from .plan import V4, V6, Plan
from lab import clock, wait_for

PROBE_MS = 50


def make_plan(args, **more):
    more.setdefault("ipv6", args.routes6 > 0)
    if args.wire:
        more.update(router=args.routers, ours=args.ours, router6=args.routers6 or None, ours6=args.ours6 or None, one_link=len(args.routers) == 1)
        more["ipv6"] = more["ipv6"] and bool(args.routers6)
    return Plan(asn=args.asn, keep=not args.no_keep, **more)


def make_dut(args, lab, plan, **keel):
    if args.wire:
        return Wire(lab, plan, args.flip, args.label)
    kind = ADAPTERS[args.dut]
    return kind(lab, plan, **keel) if args.dut == "keel" else kind(lab, plan)


def ground(args, lab, plan, say, forward=False):
    return Field(lab, plan, say, {V4: args.routes, V6: args.routes6}, mrt=args.mrt, updates=args.updates_file,
                 interfaces=args.interfaces if args.wire else None, forward=forward)


class Session:
    """A router with its peers, for one run; close() ends both."""

    def __init__(self, args, lab, say, rep, feeds=("a",), **plan):
        self.args, self.say = args, say
        self.plan = make_plan(args, **{"ipv6": False, "one_link": True, **plan})
        self.plan.feeds = {k: v for k, v in self.plan.feeds.items() if k[0] in feeds}
        self.field = ground(args, lab, self.plan, say)
        self.dut = make_dut(args, lab, self.plan)
        rep.versions[self.dut.name] = self.dut.version()
        self.dut.begin()

    def close(self):
        try:
            self.dut.stop()
            for p in [*(f.process for f in self.field.feeds.values()), *(c.process for c in self.field.crowds.values())]:
                p.stop()
        finally:
            self.field.close()

    def counted(self):
        """Sets self.size, the size of the table, from the reports of the feeds."""
        for f in self.field.feeds.values():
            self.size = f.wait("sending")["prefixes"]

    def used(self, since):
        cpu = self.dut.cpu_seconds()
        return None if cpu is None else cpu - since

    def cpu(self):
        return self.dut.cpu_seconds() or 0


def load(args, lab, say, rep):
    """Measures the time from the connection of the feeds until the receiver has the last route."""
    s = Session(args, lab, say, rep, feeds="ab"[:args.from_peers], asking=0)
    try:
        s.field.start_sink().wait("established", timeout=args.timeout)
        cpu, begin = s.cpu(), time.monotonic()
        s.field.start_feeds()
        s.counted()
        first = time.monotonic()
        s.field.wait_feeds(args.timeout)
        last = s.field.quiet("the receiver", limit_s=args.timeout)
        total = s.field.sink.ask("report", "report")["total"]
        name = s.dut.name
        rep.add(name, "load_until_receiver_has_all", "s", last - first)
        rep.add(name, "load_cpu", "CPU-s", s.used(cpu))
        resident = s.dut.resident_bytes()
        rep.add(name, "resident", "MB", None if resident is None else resident / 1e6)
        rep.add(name, "routes_at_receiver", "routes", total)
        say("%d routes at the receiver %.2f s after the first was sent (%.2f s after the feed was started)" % (total, last - first, last - begin))
        return [] if total == s.size else ["the receiver has %d routes of %d" % (total, s.size)]
    finally:
        s.close()


def probe(s, count):
    s.field.crowds["prober"].say("probe 0 1 %d %d" % (count, PROBE_MS))


def probed(s, rep, at, timeout):
    """Figures of a probe route; None: changes were missing at the end."""
    try:
        r = s.field.crowds["prober"].wait("done", "probe", timeout)
    except (TimeoutError, RuntimeError) as e:
        s.say("%s: the probe route's changes did not all arrive: %s" % (at, e))
        return ["the probe route's changes did not all arrive within %d s" % timeout]
    for k in ("p50", "p99", "max"):
        rep.add(s.dut.name, "%s_probe_route_%s" % (at, k), "ms", r[k + "_us"] / 1e3)
    return []


def begin(s, args):
    """Starts all peers, and waits until each of them has received the whole table."""
    s.field.start_crowd("prober", s.plan.prober)
    if s.plan.asking:
        s.field.start_crowd("asking", s.plan.asking)
    s.field.start_sink().wait("established", timeout=args.timeout)
    s.field.start_feeds()
    s.counted()
    s.field.wait_feeds(args.timeout)
    s.field.quiet("the receiver", limit_s=args.timeout)
    if s.plan.asking:
        s.field.wait_crowd("asking", len(s.plan.asking), args.timeout)
    s.field.wait_crowd("prober", 2, args.timeout)


def refresh(args, lab, say, rep):
    s = Session(args, lab, say, rep, asking=args.peers, hold=args.hold)
    try:
        begin(s, args)
        name, asking = s.dut.name, s.field.crowds["asking"]
        probe(s, 100)
        bad = probed(s, rep, "rest", 60)
        asking.ask("report", "report")
        cpu, start = s.cpu(), time.monotonic()
        say("%d peers ask %d times a second each for %g s" % (args.peers, args.each, args.seconds))
        probe(s, max(1, round(args.seconds * 1000 / PROBE_MS)))
        asking.say("refresh %d %d" % (args.peers * args.each, round(args.seconds)))
        if args.slow:
            for n in clock(args.seconds / 2, args.seconds):
                for i in range(args.slow if n == 1 else 0):
                    asking.ask("stall %d" % i, "stalled")
        asking.wait("done", "refresh", args.seconds + 60)
        bad += probed(s, rep, "storm", args.timeout)
        # every live peer receives the end of the answer to its last request
        last = s.field.quiet("the receiver", limit_s=args.timeout)
        seen = asking.ask("report", "report")
        rep.add(name, "sessions_lost", "sessions", seen["lost"])
        rep.add(name, "requests", "requests", seen["requests"])
        rep.add(name, "answers_a_peer", "walks", seen["borr"] / max(1, args.peers))
        rep.add(name, "octets_sent", "MB", seen["octets"] / 1e6)
        rep.add(name, "longest_silence", "ms", seen["longest_silence_ms"])
        rep.add(name, "storm_cpu", "CPU-s", s.used(cpu))
        rep.add(name, "storm_wall", "s", max(last, time.monotonic()) - start)
        say("%d sessions lost of %d" % (seen["lost"], args.peers))
        return bad + (["%d sessions lost" % seen["lost"]] if seen["lost"] else [])
    finally:
        s.close()


def churn(args, lab, say, rep):
    s = Session(args, lab, say, rep, feeds="ab", asking=0)
    try:
        begin(s, args)
        name, feed = s.dut.name, s.field.feeds["a", V4]
        probe(s, 100)
        bad = probed(s, rep, "rest", 60)
        cpu, start = s.cpu(), time.monotonic()
        if args.flaps:
            s.field.crowds["prober"].say("flap 1 %d" % args.flaps)
        probe(s, max(1, round(args.seconds * 1000 / PROBE_MS)))
        if args.updates_file:
            feed.say("play %d" % max(1, round(100 * args.speed)))
            played = feed.wait("played", timeout=86400)
            rep.add(name, "recorded_messages", "messages", played["messages"])
            rep.add(name, "recorded_late", "ms", played["late_ms"])
        else:
            s.field.churn(args.updates_per_s)
            for _ in clock(1, args.seconds):
                s.dut.must_run()
            made, skipped = s.field.churn(0)
            rep.add(name, "updates", "updates/s", made / (time.monotonic() - start))
            if skipped:
                rep.add(name, "updates_skipped", "updates", skipped)
        ended = time.monotonic()
        rep.add(name, "churn_cpu", "CPU-s", s.used(cpu))
        last = s.field.quiet("the receiver", limit_s=args.timeout)
        rep.add(name, "receiver_behind", "s", max(0, last - ended))
        bad += probed(s, rep, "churn", args.timeout)
        if args.flaps:
            s.field.crowds["prober"].wait("done", "flap", args.timeout)
        lost = s.field.crowds["prober"].ask("report", "report")["lost"] + s.field.lost_feeds()
        rep.add(name, "sessions_lost", "sessions", lost)
        return bad + (["%d sessions lost" % lost] if lost else [])
    finally:
        s.close()
