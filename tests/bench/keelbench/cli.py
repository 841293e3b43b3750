# SPDX-License-Identifier: BSD-3-Clause
"""The command line of keelbench: arguments, checked before the start."""
import argparse
import ipaddress
import math
import os
import statistics
import sys
import time
import traceback

from bench_lab import BUILD
from . import control, limits, report
from .adapters import ADAPTERS, Unable, Wire
from .control import ground, make_dut, make_plan
from .plan import ASN, V4
from .storm import Storm
from .strain import Strains
from lab import Hugepages, Lab, cpus_of_lab
from lab_ports import LabPorts

DESCRIPTION = """Puts load on a router that speaks BGP: plays its peers with full tables, sends numbered packets through it, and measures loss (and
where), reordering, misdirection, latency, and how long the router needs. Writes a report as JSON and HTML with plots."""
COMMANDS_HELP = {
    "storm": "A full table, an import policy that flips, refreshes and churn at the same time, under numbered traffic.",
    "load": "A table from one or two peers until a receiver has the last route.",
    "refresh": "Peers that send refresh requests continuously: sessions lost, and the delay of a probe route.",
    "churn": "Updates at a fixed rate, or recorded updates (MRT) with their timing: the delay of a probe route.",
    "limits": "What keelbench itself can send and receive on this machine.",
    "plan": "Prints how a router on a wire must be configured for the same options.",
}
EXIT_STATUS = {
    0: "Nothing was lost or misdirected, no session ended, no audit found a mismatch.",
    1: "Something was lost or misdirected, a session ended, or an audit found a mismatch.",
    2: "Bad usage.",
    3: "The measurement failed; the message says why.",
    130: "Interrupted by Ctrl-C.",
}
EPILOG = """The router under test: --dut keel|bird|frr|gobgp|openbgpd starts it in a network namespace of this machine; --dut ADDRESS is a router on a wire, with
--interface (one interface of this machine for each link) and --asn. `keelbench plan` with the same options prints its configuration.

Exit status:
%s

Needs root. keelbench(1) describes more.""" % "\n".join("  %-4d %s" % e for e in EXIT_STATUS.items())


PACKETS_MAX = 30000000  # limit of one run of the probe (tests/bench/probe.c), with a reserve
ROUTES_MAX = 20000000  # the feed keeps all routes in memory, some 100 octets each


def positive(text):
    n = float(text)
    if not 0 < n < math.inf:
        raise argparse.ArgumentTypeError("%s is not above 0" % text)
    return n


def not_negative(text):
    return 0.0 if float(text) == 0 else positive(text)


def integer(least, most=math.inf):
    def read(text):
        n = int(text)
        if not least <= n <= most:
            raise argparse.ArgumentTypeError("%d is not %d%s" % (n, least, " or more" if most == math.inf else " to %d" % most))
        return n
    read.__name__ = "int"  # argparse uses the name in its message for an invalid value
    return read


HOLD = integer(3, 65535)  # RFC 4271 4.2; crowd does not support 0, without keepalives


def parser():
    top = argparse.ArgumentParser(prog="keelbench", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")

    common = argparse.ArgumentParser(add_help=False)
    g = common.add_argument_group("the router under test")
    g.add_argument("--dut", default="keel", metavar="NAME|ADDRESS[,ADDRESS,ADDRESS]", help="keel (default), bird, frr, gobgp, openbgpd; or the addresses of a router on a "
                   "wire, one for each link: input, to A, to B; a single address: no traffic")
    g.add_argument("--interface", default="", metavar="IF[,IF,IF]", help="with an address: this machine's interfaces to these links; each is moved into a namespace during the run")
    g.add_argument("--source", default="", metavar="ADDRESS[,...]", help="address of this machine on each link (default: the router's plus 1; /24); the peers use the following addresses")
    g.add_argument("--dut6", default="", metavar="ADDRESS[,...]", help="IPv6 addresses of the router (/64); without them a router on a wire gets only IPv4")
    g.add_argument("--source6", default="", metavar="ADDRESS[,...]", help="IPv6 addresses of this machine (default: the router's plus 1)")
    g.add_argument("--asn", type=integer(1, 2 ** 32 - 1), default=ASN, help="AS number of the router (default %(default)s)")
    g.add_argument("--flip", metavar="COMMAND", help="command that changes the import policy of a router on a wire; its argument is 1 and 0 in turn (see keelbench plan)")
    g.add_argument("--label", help="name of the router in the report")
    g.add_argument("--no-keep", action="store_true", help="the router does not keep rejected routes, so a policy change requests all routes again")
    g = common.add_argument_group("the table")
    g.add_argument("--routes", type=integer(1, ROUTES_MAX), help="generated IPv4 routes (default 1,000,000)")
    g.add_argument("--routes6", type=integer(0, ROUTES_MAX), help="generated IPv6 routes (default: a fifth of the IPv4 routes); 0: only IPv4, also from a dump")
    g.add_argument("--mrt", metavar="FILE", help="table from a TABLE_DUMP_V2 dump (may end in .gz) instead of generated routes")
    g.add_argument("--updates", dest="updates_file", metavar="FILE", help="recorded churn: an MRT file of updates (BGP4MP); A plays its first peer")
    g.add_argument("--speed", type=positive, default=1, help="speed factor of recorded churn (default 1)")
    g = common.add_argument_group("the run")
    g.add_argument("--quick", action="store_true", help="20,000 + 4,000 routes and one short run")
    g.add_argument("--runs", type=integer(1), help="number of runs (default 5)")
    g.add_argument("--timeout", type=integer(1), default=900, help="seconds after which a wait has failed (default %(default)s)")
    g.add_argument("--out", default=os.environ.get("KEELBENCH_OUT", os.path.join(BUILD, "keelbench")), help="folder of the report (default build/keelbench)")
    g.add_argument("--json", metavar="FILE", help="write the JSON report to FILE, too")
    g.add_argument("--no-limits", action="store_true", help="do not measure the limits of keelbench first")
    g.add_argument("--no-huge", action="store_true", help="run Keel without hugepages")

    p = sub.add_parser("storm", parents=[common], help=COMMANDS_HELP["storm"])
    plan = sub.add_parser("plan", parents=[common], help=COMMANDS_HELP["plan"])
    for x in (p, plan):
        x.add_argument("--peers", type=integer(0), default=20, help="peers that request refreshes (default %(default)s)")
        x.add_argument("--hold", type=HOLD, default=90, help="hold time of these peers in seconds (default %(default)s)")
    p.add_argument("--seconds", type=positive, help="duration of one storm (default 20; with --lab-ports 15)")
    p.add_argument("--minutes", type=positive, help="soak: one storm of this duration, with figures for each third")
    p.add_argument("--rate", type=positive, default=1, help="factor for all rates: flips, refreshes, churn, packets (default 1)")
    p.add_argument("--flip-s", type=not_negative, default=5, help="seconds between policy changes (default 5; 0: none)")
    p.add_argument("--refresh-rate", type=not_negative, default=50, help="refresh requests a second of all peers (default 50)")
    p.add_argument("--churn", type=not_negative, default=10000, help="updates a second of all feeds (default 10,000)")
    p.add_argument("--pps", type=integer(1), default=20000, help="packets a second (default 20,000)")
    p.add_argument("--window", type=integer(0), default=0, help="packets that are at most under way; --pps is then the highest rate, and latencies leave out what waits for a "
                   "slow router: for losses on a machine that is too slow for the rate (default 0: any number)")
    p.add_argument("--destinations", type=integer(2), default=5000, help="IPv4 destinations of the traffic, and half as many of IPv6 (default 5,000)")
    p.add_argument("--slow", type=integer(0), default=0, help="number of requesting peers that read nothing during a storm (default 0)")
    p.add_argument("--strain", action="store_true", help="Keel only: a full disk, a log without a reader and a collector of events that does not read, each coming "
                   "and going; no commit, log line or event may be missing at the end, and from 10 minutes on the memory of the last third must be within 2 %% of "
                   "that of the second third")
    p.add_argument("--lab-ports", action="store_true", help="Keel only: rate of the worker in the storm (traffic from and to memory, in the worker's own loop), "
                   "as a ratio to its rate beside an unrelated loop in memory; default 15 runs")
    p.add_argument("--no-bare", action="store_true", help="do not run the bare loop")

    for name, default in (("load", 1000000), ("refresh", 100000), ("churn", 100000)):
        x = sub.add_parser(name, parents=[common], help="%s Default: %d routes." % (COMMANDS_HELP[name], default))
        x.set_defaults(default_routes=default)
        if name == "load":
            x.add_argument("--from", dest="from_peers", type=int, default=1, choices=(1, 2), help="peers that announce the table (default 1)")
        if name == "refresh":
            x.add_argument("--peers", type=integer(1), default=20, help="peers that request refreshes (default %(default)s)")
            x.add_argument("--each", type=integer(1), default=50, help="requests a second of each peer (default %(default)s)")
            x.add_argument("--hold", type=HOLD, default=9, help="hold time in seconds (default %(default)s)")
            x.add_argument("--seconds", type=positive, default=30, help="duration (default %(default)s)")
            x.add_argument("--slow", type=integer(0), default=0, help="number of these peers that stop reading half-way (default 0)")
        if name == "churn":
            x.add_argument("--updates-per-s", type=integer(1), default=10000, help="updates a second (default 10,000)")
            x.add_argument("--flaps", type=integer(0), default=0, help="number of /32 routes that a separate peer flaps (default 0)")
            x.add_argument("--seconds", type=positive, default=30, help="duration (default %(default)s)")
    sub.add_parser("limits", parents=[common], help=COMMANDS_HELP["limits"])
    return top


class Usage(Exception):
    pass


def listed(text, what, version, count=None):
    out = [w for w in text.split(",") if w]
    for w in out:
        try:
            if ipaddress.ip_address(w).version != version:
                raise ValueError
        except ValueError:
            raise Usage("%s: \"%s\" is not an IPv%d address" % (what, w, version)) from None
    if out and count and len(out) != count:
        raise Usage("%s: %d addresses where there are %d links" % (what, len(out), count))
    return out


def behind(address):
    try:
        return str(ipaddress.ip_address(address) + 1)
    except ValueError:
        raise Usage("--source: there is no address behind %s, so ours has to be named" % address) from None


def check_links(args):
    """The emulated peers' addresses are counted from ours: all must be on their own link, and on no other link."""
    one = {} if args.command in ("storm", "plan") else {"ipv6": False, "one_link": True}
    plan = make_plan(args, asking=getattr(args, "peers", 0), **one)
    nets = [ipaddress.ip_interface(link.router[V4] + "/24").network for link in plan.links]
    if len(set(nets)) < len(nets):
        raise Usage("--dut: two of its links are in one /24")
    for link, net in zip(plan.links, nets):
        mine = [link.router[V4], *dict.fromkeys([link.ours[V4], *(p.address for p in plan.peers() if p.link == link.name and p.family == V4)])]
        for a in mine:
            if ipaddress.ip_address(a) not in net or a == str(net.broadcast_address):
                raise Usage("%s, of one of our peers, is not in %s (--peers, --source)" % (a, net))
        if len(set(mine)) < len(mine):
            raise Usage("--source: %s is the router's address, and one of our peers'" % link.router[V4])


def check_interfaces(names):
    for name in names:
        if not os.path.exists("/sys/class/net/" + name):
            raise Usage("--interface: this machine has no %s" % name)
    if len(set(names)) < len(names):
        raise Usage("--interface: one of them is named twice")


def settle(args):
    """Interdependent defaults; impossible combinations are reported before the start."""
    quick = args.quick
    args.routes = args.routes or (20000 if quick else getattr(args, "default_routes", 1000000))
    args.routes6 = args.routes // 5 if args.routes6 is None else args.routes6
    lab_ports, strain = getattr(args, "lab_ports", False), getattr(args, "strain", False)
    if strain and (args.dut != "keel" or lab_ports or (args.runs or 1) > 1):
        raise Usage("--strain: only for Keel, with one run and without --lab-ports")
    if strain:
        args.runs, args.no_bare = 1, True
    args.runs = args.runs or (1 if quick or getattr(args, "minutes", None) else 15 if lab_ports else 5)
    if lab_ports and args.dut != "keel":
        raise Usage("--lab-ports: they are Keel's own, not of --dut %s" % args.dut)
    if lab_ports and not args.routes6:
        raise Usage("--lab-ports: a fifth of what they send is IPv6, so not with --routes6 0")
    if args.command == "storm":
        args.seconds = args.minutes * 60 if args.minutes else args.seconds or (6 if quick else 15 if lab_ports else 20)
        args.pps = max(1, round((min(args.pps, 5000) if quick else args.pps) * args.rate))
        if args.seconds * args.pps > PACKETS_MAX and not lab_ports:
            raise Usage("--pps %d for %g s: the probe knows each packet by itself, %d at most (--rate or --pps below that)" % (
                args.pps, args.seconds, PACKETS_MAX))
        args.churn = min(args.churn, 1000) if quick else args.churn
        args.destinations = min(args.destinations, 2000) if quick else args.destinations
        args.bare = not args.no_bare and not args.minutes and not args.lab_ports and args.dut == "keel"
        if args.bare and args.hold and args.hold < 2 * args.seconds:
            raise Usage("--hold %d: the router stands still for %g s beside the bare loop, so hold at least twice that (or --no-bare)" % (args.hold, args.seconds))
    if getattr(args, "slow", 0) > getattr(args, "peers", 0):
        raise Usage("--slow %d: there are %d asking peers (--peers)" % (args.slow, args.peers))
    if args.json and (os.path.isdir(args.json) or not os.access(os.path.dirname(os.path.abspath(args.json)), os.W_OK)):
        raise Usage("--json: no file can be written at %s" % args.json)
    for name in ("mrt", "updates_file"):
        if getattr(args, name) and not os.path.isfile(getattr(args, name)):
            raise Usage("--%s: %s is not there" % (name.split("_")[0], getattr(args, name)))
    args.wire = args.dut not in ADAPTERS
    if args.wire:
        args.routers = listed(args.dut, "--dut", 4)
        if len(args.routers) not in (1, 3):
            raise Usage("--dut: %s is neither one of %s nor one or three addresses" % (args.dut, ", ".join(ADAPTERS)))
        n = len(args.routers)
        args.ours = listed(args.source, "--source", 4, n) or [behind(a) for a in args.routers]
        args.routers6 = listed(args.dut6, "--dut6", 6, n)
        args.ours6 = listed(args.source6, "--source6", 6, n) or [behind(a) for a in args.routers6]
        args.interfaces = [w for w in args.interface.split(",") if w]
        if args.command != "plan" and len(args.interfaces) != n:
            raise Usage("--interface: %d given, --dut names %d links" % (len(args.interfaces), n))
        check_interfaces(args.interfaces)
        if args.command == "storm" and n == 1:
            raise Usage("--dut: a storm has traffic, so it needs three addresses: where packets come in, to A, to B")
        if args.command == "storm" and args.flip_s and not args.flip:
            raise Usage("--flip: a command that changes the router's policy is missing (or --flip-s 0: without flips)")
    elif args.interface or args.source or args.dut6 or args.source6 or args.flip:
        raise Usage("--interface, --source, --dut6, --source6 and --flip are of a router on a wire: --dut %s is started here" % args.dut)
    if args.command != "limits":
        check_links(args)


class Progress:
    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, line):
        sys.stderr.write("%6.1f s  %s\n" % (time.monotonic() - self.start, line))
        sys.stderr.flush()


def storm(args, lab, say, rep):
    worker, others = args.worker, args.others
    kind = Wire if args.wire else ADAPTERS[args.dut]
    if not kind.forwards:
        raise Unable("%s forwards no packets on this system: `keelbench refresh`, `load` and `churn` are for it" % args.dut)
    plan = make_plan(args, asking=args.peers, hold=args.hold)
    field = ground(args, lab, plan, say, forward=kind.kernel_forwards)
    try:
        field.read_tables()
        ports = LabPorts(BUILD, lab.dir, field.classed(), v6=1 << 18) if args.lab_ports else None
        dut = make_dut(args, lab, plan, worker=worker, control=others, lab_ports=ports)
        strains = dut.strains = Strains(lab, args.seconds) if args.strain else None
        rep.versions[dut.name] = dut.version()
        s = Storm(args, field, dut, rep.out, say, strains)
        if not ports:
            field.drawn = field.destinations(args.destinations)
            dut.watched = field.watched()
        if args.bare:
            s.build_bare(worker)
        if args.bare or ports:
            s.build_memory(others[0], *(["--lab", ports.file] if ports else []))
        dut.begin()
        try:
            (rated if ports else forwarded)(args, s, rep)
            s.audit()
            return s.failures() + grown(args, rep, s) + strained(rep, s)
        finally:
            dut.stop()
            if strains:
                strains.close()
            if ports:
                ports.close()
    finally:
        field.close()


def load_storm(s, rep):
    loaded = s.load()
    s.say("loaded in %.1f s" % loaded)
    rep.add(s.dut.name, "load", "s", loaded)
    s.sessions()
    s.lost_sessions = 0


def forwarded(args, s, rep):
    """Runs storms with numbered packets over links."""
    load_storm(s, rep)
    for i in range(args.runs):
        s.segment("rest-%d" % i, "rest", min(args.seconds, 5), s.rest)
        if args.bare:
            s.bare_segment("bare-%d" % i, args.seconds)
        s.segment("storm-%d" % i, "storm", args.seconds, s.storm)
    tell(rep, s)


def rated(args, s, rep):
    """Runs storms with frames from memory, at the rate of the worker."""
    load_storm(s, rep)
    ports = s.dut.lab_ports
    s.open_lab(ports)
    name = s.dut.name
    for i in range(args.runs):
        g = s.storm_rated(i, args.seconds)
        rep.add(name, "worker_rate", "Mpps", g["mpps"])
        rep.add("beside-memory", "worker_rate", "Mpps", g["beside_memory_mpps"])
        rep.add("beside-memory", "memory_accesses", "/s", g["accesses_per_s"])
        for k in ("lost", "misdirected", "reordered", "damaged"):
            rep.add(name, k, "packets", g[k])
        rep.add(name, "storm_router_cpu", "CPU-s", g["router_cpu_s"])
        rep.add(name, "storm_churn", "updates/s", g["churn_per_s"])
        rep.add(name, "storm_churn_skipped", "updates", g["churn_skipped"])
    rep.ratio("worker_rate", name, "beside-memory")
    whole(rep, s)


def tell(rep, s):
    """The figures of a storm with traffic over links."""
    name = s.dut.name
    for g in s.segments:
        dut = "bare" if g["kind"] == "bare" else name
        at = "rest" if g["kind"] == "rest" else "storm"
        for k in ("sent", "lost", "misdirected", "reordered", "duplicates"):
            rep.add(dut, "%s_%s" % (at, k), "packets", g[k])
        for k in ("p50", "p99", "p999", "max"):
            rep.add(dut, "%s_latency_%s" % (at, k), "us", g["latency_us"][at][k])
        for k, of in (("longest_gap", "longest_gap_beyond_sender"), ("longest_arrival_gap", "longest_gap"), ("sender_longest_gap", "longest_send_gap"),
                      ("sender_longest_call", "longest_send_call")):
            rep.add(dut, "%s_%s" % (at, k), "us", g[of + "_us"])
        for k, (unit, value) in g["figures"].items():
            rep.add(dut, "%s_%s" % (at, k), unit, value)
        if g["kind"] == "storm":
            turns(rep, dut, g["turns"])
            beside(rep, name, g)
    for k in ("storm_latency_p999", "storm_longest_gap", "storm_loop_gap_p999", "storm_loop_gap_max"):
        rep.ratio(k, name, "bare")
    whole(rep, s)
    plots(rep, s)


def turns(rep, name, of):
    """A flip without a packet on the new path lasted at least until its last packet; without any packet the duration is unknown."""
    for t in of:
        if t["right"] or t["wrong"]:
            rep.add(name, "flip_until_last_packet", "s", t["last_wrong_s"])
    rep.add(name, "flips_without_a_packet", "flips", sum(not t["right"] for t in of))


def beside(rep, name, g):
    """Figures measured beside the traffic of a storm."""
    rep.add(name, "storm_router_cpu", "CPU-s", g.get("router_cpu_s"))
    for k in ("p50", "p99", "max"):
        rep.add(name, "storm_probe_route_" + k, "ms", g["prober"]["%s_us" % k] / 1e3)
    rep.add(name, "storm_churn", "updates/s", g["churn_per_s"])
    rep.add(name, "storm_churn_skipped", "updates", g["churn_skipped"])
    rep.add(name, "storm_longest_silence", "ms", g["silence_ms"])
    rep.add(name, "storm_receiver_behind", "s", g["receiver_behind_s"])


def whole(rep, s):
    """Adds the figures over all storms."""
    name = s.dut.name
    rep.add(name, "flips", "flips", s.flips)
    if s.convergence and s.dut.watched:  # daemons that report completion, and were asked meanwhile
        for c in s.convergence:
            rep.add(name, "flip_until_tables_lead_there", "s", c)
        rep.add(name, "flips_overtaken", "flips", s.overtaken)
    rep.add(name, "sessions_lost", "sessions", s.lost_sessions)
    if s.audits:
        rep.add(name, "audits", "audits", s.audits)
        rep.add(name, "audit_mismatches", "destinations", s.mismatches)
    thirds(rep, s)
    rep.more["segments"] = s.segments
    rep.more["runs"] = s.args.runs
    rep.more["samples"] = s.samples


def in_thirds(rows):
    """[(word, rows)], empty for too few rows."""
    n = len(rows) // 3
    return [(word, rows[i * n:(i + 1) * n]) for i, word in enumerate(("first", "second", "last"))] if n > 1 else []


def thirds(rep, s):
    """Trends within a long run: memory, and for a soak the router's CPU and packets."""
    name = s.dut.name
    parts = in_thirds(s.samples) if s.samples and "resident_mb" in s.samples[0] else []
    for word, part in parts:
        rep.add(name, "resident_%s_third" % word, "MB", statistics.mean(x["resident_mb"] for x in part))
        if s.args.minutes:
            rep.add(name, "router_cpu_%s_third" % word, "CPU-s/s", (part[-1]["cpu_s"] - part[0]["cpu_s"]) / (part[-1]["wall"] - part[0]["wall"]))
    if parts:
        second, last = (rep.samples[name, "resident_%s_third" % word][0] for word in ("second", "last"))
        rep.add(name, "resident_last_to_second", "times", last / second)
    for g in (g for g in s.segments if s.args.minutes and not s.args.lab_ports and g["kind"] == "storm"):
        with open(os.path.join(rep.out, g["name"], "probe.csv"), encoding="ascii") as f:  # each tenth of a second: tests/bench/probe.c
            bins = [list(map(float, line.split())) for line in f if not line.startswith("#")]
        for word, part in in_thirds(bins):
            rep.add(name, "storm_lost_%s_third" % word, "packets", sum(b[2] for b in part))
            rep.add(name, "storm_misdirected_%s_third" % word, "packets", sum(b[3] for b in part))
            rep.add(name, "storm_bins_p99_%s_third" % word, "us", statistics.median(b[5] for b in part))
            rep.add(name, "storm_latency_max_%s_third" % word, "us", max(b[6] for b in part))


GROWTH_MAX = 1.02
GROWTH_MINUTES = 10


def grown(args, rep, s):
    """For a strained soak: the mean of the resident memory (all processes of the router, sampled once per second) in the last third of the storm,
    relative to the second third."""
    if not s.strains or (args.minutes or 0) < GROWTH_MINUTES:
        return []
    ratio = rep.samples[s.dut.name, "resident_last_to_second"][0]
    return ["memory: the last third has %.3f times that of the second" % ratio] if not 2 - GROWTH_MAX <= ratio <= GROWTH_MAX else []


def strained(rep, s):
    """The figures of the strains. Returns no failures: Storm.failures() has them."""
    for k, (unit, value) in (s.strains.figures() if s.strains else {}).items():
        rep.add(s.dut.name, k, unit, value)
    return []


def plots(rep, s):
    for kind, title in (("rest", "at rest"), ("storm", "in the storm"), ("bare", "through a bare loop")):
        g = next((g for g in s.segments if g["kind"] == kind), None)
        if not g:
            continue
        folder = os.path.join(rep.out, g["name"])
        rep.plot(folder, "Packets %s" % title, "a tenth of a second", ["'probe.csv' using 1:2 with lines title 'sent'", "'' using 1:3 with impulses lw 2 title 'lost'",
                 "'' using 1:4 with impulses lw 2 title 'misdirected'"], g["marks"])
        rep.plot(folder, "Latency %s" % title, "us", ["'probe.csv' using 1:7 with lines title 'max'", "'' using 1:6 with lines title 'p99'",
                                                      "'' using 1:5 with lines title 'p50'"], g["marks"], log=True)
    if s.samples and "resident_mb" in s.samples[0]:
        with open(os.path.join(rep.out, "samples.csv"), "w") as f:
            f.writelines("%.1f %.1f\n" % (i, x["resident_mb"]) for i, x in enumerate(s.samples))
        rep.plot(rep.out, "Memory of the router in storms", "MB", ["'samples.csv' using 1:2 with lines title 'resident'"])


COMMANDS = {"storm": storm, "load": control.load, "refresh": control.refresh, "churn": control.churn}


def main(argv=None):
    args = parser().parse_args(argv)
    try:
        settle(args)
        if args.command == "plan":
            print(make_plan(args, asking=args.peers, hold=args.hold).describe())
            return 0
        if os.geteuid() != 0:
            raise Usage("network namespaces need root")
        for name in ("control/keeld", "tests/bench/feed", "tests/bench/bare"):
            if not os.path.exists(os.path.join(BUILD, name)):
                raise Usage("%s is not there: scripts/build makes it (or set KEEL_BUILD)" % os.path.join(BUILD, name))
    except Usage as e:
        sys.stderr.write("keelbench: %s\n" % e)
        return 2
    say = Progress()
    try:
        return run(args, say)
    except KeyboardInterrupt:
        return 130
    except Unable as e:
        sys.stderr.write("keelbench: %s: %s\n" % (args.command, e))
        return 3
    except (RuntimeError, TimeoutError, OSError) as e:
        sys.stderr.write("keelbench: %s: %s (logs: %s)\n" % (args.command, e, os.path.join(args.out, "logs")))
        return 3
    except Exception as e:  # status 1 would mean a complete measurement with losses
        traceback.print_exc()
        sys.stderr.write("keelbench: %s: %s: %s (logs: %s)\n" % (args.command, type(e).__name__, e, os.path.join(args.out, "logs")))
        return 3


def run(args, say):
    args.out = os.path.abspath(args.out)
    rep = report.Report(args.command, args.out)
    args.worker, args.others = cpus_of_lab()
    if getattr(args, "lab_ports", False):
        if args.worker in args.others:
            raise Unable("--lab-ports: needs a CPU for the worker and another one for all else")
        args.others = args.others[:1]  # the loop takes CPU from all processes except the worker
    os.sched_setaffinity(0, args.others)  # also for all our processes, except Keel, whose worker has the last CPU
    keel = args.dut == "keel" and args.command == "storm"
    with Hugepages(512 if keel and not args.no_huge else 0) as pages, Lab(os.path.join(args.out, "logs")) as lab:
        if keel:
            say("hugepages: %d" % pages)
        if not args.no_limits or args.command == "limits":
            say("measuring what this machine and keelbench can do themselves")
            rep.more["limits"] = limits.measure(lab, args.out)
        bad = COMMANDS[args.command](args, lab, say, rep) if args.command != "limits" else []
    rep.more["settings"] = {k: v for k, v in vars(args).items() if not k.startswith("default_")}
    rep.more["failures"] = bad
    path, page = rep.write()
    if args.json:
        rep.write(args.json)
    print(report.text(rep.document()))
    print("report: %s %s" % (path, page))
    return 1 if bad else 0
