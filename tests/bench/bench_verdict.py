#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The cost of a verdict: the policies of tests/lab/test_policy_beside.py (as text in Keel, as filters in BIRD) with 30,000 routes each.

  NAME        CPU microseconds of the daemon for a route with the policy, less those of the same routes on a session that accepts all; eight prefixes
              share an UPDATE, as in the other benchmarks
  NAME_alone  the same with an UPDATE for each prefix
  accepting, accepting_alone   CPU microseconds for a route on that session
Both terms of a difference are the smallest of all runs, because other load on the machine makes them only larger. A policy accepts here where it rejects
there: a refused route costs a daemon less than a stored route. `roles` is a key of the session and not measured. `rs` is an export policy,
beside an export of all. For `origins` both daemons keep the received routes (Keel by itself, BIRD with an import table), on the session without the policy, too. The two daemons, and the loads with and without the policy, take turns."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
QUICK = "--quick" in sys.argv
os.environ["KEEL_ROUTES"] = "20000" if QUICK else "300000"
from bench_lab import KEELD, ROOT, arguments, sample, say  # noqa: E402
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from labtest import UPDATE, V4, Lab, Speaker, wait_for  # noqa: E402
from wire import encode, next_hop, update  # noqa: E402
import test_policy_beside as beside  # noqa: E402
from test_policy_beside import CLIENTS, NAMES, OWN, PLAIN, POLICIES, SENDER, Cache, cpu_ns, offers, sender  # noqa: E402

REST_S = 0.25
REST_NS = 300000  # more CPU within REST_S is no rest
AT_ONCE = 500  # withdrawn prefixes of an UPDATE
PER_SET = {"": 8, "_alone": 1}
LOADS = 3  # of a run, by turns with and without the policy
KEPT = PLAIN + 1  # accepts all, and keeps the received routes
SIDES = {"keel": 1, "bird": 2}
MEASURED = [name for name in NAMES if name != "roles"]
IMPORTS = [name for name in MEASURED if name != "rs"]


def accepting(text):
    """The policy with as many stored routes as without it."""
    return text.replace("reject", "accept").replace("return false", "return true")


def exporter(d, run, policy):
    """The client of a run that gets the routes by the policy `rs`, or all routes."""
    return "198.18.%d.%d" % (d, 100 + 2 * run + policy)


class Keel:
    def __init__(self, lab, d, runs):
        path = lab.write("verdict.policy", "".join(accepting(k) for k, _, _ in POLICIES.values()))
        peers = []
        for i, name in enumerate(NAMES + ["plain", "kept"]):
            peers.append({"address": sender(d, i), "asn": SENDER, "passive": True, "enforce_first_as": False, "families": {V4: {
                "import_policy": name if name in IMPORTS else "accept-all", "export_policy": "deny-all", "keep_all_routes": name == "kept"}}})
        peers += [{"address": exporter(d, run, p), "asn": CLIENTS[0], "passive": True, "route_server_client": True, "families": {V4: {
            "import_policy": "deny-all", "export_policy": "rs" if p else "accept-all"}}} for run in range(runs) for p in (0, 1)]
        self.process, self.rpc = lab.keeld("keel", {
            "router": {"asn": OWN, "router_id": "198.18.%d.1" % d}, "policy_files": [path],
            "rpki": {"caches": [{"address": "127.0.0.1", "port": 3323}]}, "bgp": {"next_hop_tracking": False, "peers": peers}}, KEELD, args=["--no-dataplane"])
        wait_for("the VRPs", lambda: self.rpc.call("rpki.summary")["vrps"]["ipv4"] == len(beside.ROA), 30)
        self.pid = self.rpc.call("system.info")["pid"]

    def stored(self):
        return sum(t["prefixes"] for t in self.rpc.call("rib.summary")["tables"] if t["family"] == V4)


class Bird:
    def __init__(self, lab, d, runs):
        out = ["log stderr all;", "router id 198.18.%d.1;" % d, "protocol device { }", "roa4 table roas;",
               "protocol static { roa4 { table roas; };", *("route %s max %d as %d;" % r for r in beside.ROA), "}", *(accepting(b) for _, b, _ in POLICIES.values())]
        session = "protocol bgp %s { local 198.18." + str(d) + ".1 as 64512; neighbor %s as %d; passive; %s ipv4 { %s }; }"
        for i, name in enumerate(NAMES + ["plain", "kept"]):
            policy = "import filter " + name if name in IMPORTS else "import all"
            policy = ("import table on; " if name in ("origins", "kept") else "") + policy
            out.append(session % ("p%d" % i, sender(d, i), SENDER, "", policy + "; export none;"))
        for run in range(runs):
            for p in (0, 1):
                export = "where to_client(%d)" % CLIENTS[0] if p else "all"
                out.append(session % ("c%d_%d" % (run, p), exporter(d, run, p), CLIENTS[0], "rs client;", "import none; export %s;" % export))
        process, self.birdc = lab.bird("bird", "\n".join(out) + "\n")
        self.pid = process.popen.pid

    def stored(self):
        return next(int(line.split()[2]) for line in self.birdc("show", "route", "count").splitlines() if "master4" in line)


class Side:
    def __init__(self, lab, kind, runs):
        self.name, self.netns = kind.__name__.lower(), lab.netns("sp")
        self.d = SIDES[self.name]
        self.daemon, self.to, self.senders = kind(lab, self.d, runs), "198.18.%d.1" % self.d, {}

    def rest(self):
        """Waits until the daemon rests; its CPU nanoseconds."""
        before = cpu_ns(self.daemon.pid)
        while True:
            time.sleep(REST_S)
            now = cpu_ns(self.daemon.pid)
            if now - before < REST_NS:
                return now
            before = now

    def sender(self, i):
        if i not in self.senders:
            self.senders[i] = Speaker(self.netns, sender(self.d, i), self.to, SENDER).up()
        return self.senders[i]

    def cost(self, i, by, messages, gone):
        """CPU microseconds for a route of policy i from session `by`. The routes are withdrawn afterwards."""
        s = self.sender(by)
        before = self.rest()
        with s.lock:
            s.sock.sendall(messages)
        after = self.rest()
        if self.daemon.stored() != len(offers(i)):
            raise RuntimeError("%s stores %d of %d routes of %s" % (self.name, self.daemon.stored(), len(offers(i)), NAMES[i]))
        for body in gone:
            s.send(UPDATE, body)
        wait_for("the end of the routes", lambda: self.daemon.stored() == 0, 60)
        return (after - before) / len(offers(i)) / 1000

    def exported(self, i, run, policy, messages, gone):
        """The same of an export policy, for each load; the client is up for these loads alone."""
        s = Speaker(self.netns, exporter(self.d, run, policy), self.to, CLIENTS[0]).up()
        try:
            return [self.cost(i, PLAIN, messages, gone) for _ in range(LOADS)]
        finally:
            s.close()


def encoded(d, i, per_set):
    """All UPDATEs of the routes of policy i, and the bodies that withdraw them. Prefixes of an UPDATE have the attributes of the first."""
    prefixes, of = list(offers(i)), offers(i)
    bodies = [update(encode(of[prefixes[k]]) + next_hop(sender(d, i)), prefixes[k:k + per_set]) for k in range(0, len(prefixes), per_set)]
    return (b"".join(b"\xff" * 16 + (19 + len(b)).to_bytes(2, "big") + bytes([UPDATE]) + b for b in bodies),
            [update(withdrawn=prefixes[k:k + AT_ONCE]) for k in range(0, len(prefixes), AT_ONCE)])


def measure(sides, runs):
    """{metric: {daemon: (costs without the policy, costs with it)}}"""
    costs = {}
    for run in range(runs):
        for name in MEASURED:
            i = NAMES.index(name)
            for end, per_set in PER_SET.items():
                for s in sides:
                    messages, gone = encoded(s.d, i, per_set)
                    pair = costs.setdefault(name + end, {}).setdefault(s.name, ([], []))
                    without = KEPT if name == "origins" else PLAIN
                    for k in range(2 * LOADS):
                        if name != "rs":
                            pair[k % 2].append(s.cost(i, i if k % 2 else without, messages, gone))
                        elif k < 2:
                            pair[k].extend(s.exported(i, 2 * run + bool(end), k, messages, gone))
    return costs


def main():
    args = arguments(__doc__.splitlines()[0], 5)
    sessions = 2 * args.runs
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        lab.host("sp")
        for name, d in SIDES.items():
            lab.host(name)
            lab.link("sp", name, "198.18.%d.2/24" % d, name, "up", "198.18.%d.1/24" % d)
            more = [sender(d, i) for i in range(KEPT + 1)] + [exporter(d, run, p) for run in range(sessions) for p in (0, 1)]
            lab.sh("sp", "ip -batch " + lab.write("addresses", "".join("address add %s/24 dev %s\n" % (a, name) for a in more)))
        cache = Cache(lab.netns("keel"))
        sides = [Side(lab, kind, sessions) for kind in (Keel, Bird)]
        costs = measure(sides, args.runs)
        for s in sides:
            for x in s.senders.values():
                x.close()
        cache.close()
    for end in PER_SET:
        for s in sides:
            sample("accepting" + end, "us", 0, min(min(costs[name + end][s.name][0]) for name in IMPORTS if name != "origins"), dut=s.name)
    for metric, of in costs.items():
        keel, bird = (min(of[n][1]) - min(of[n][0]) for n in ("keel", "bird"))
        sample(metric, "us", 0, keel, dut="keel")
        sample(metric, "us", 0, bird, dut="bird")
        say("%-14s Keel %6.3f us, BIRD %6.3f us: %.2f of BIRD's" % (metric, keel, bird, keel / bird))


if __name__ == "__main__":
    main()
