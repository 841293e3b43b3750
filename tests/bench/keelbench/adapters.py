# SPDX-License-Identifier: BSD-3-Clause
"""Routers under test: the daemons of tests/bench/duts.py with the sessions and policies of a plan, forwarding if supported, and queried for their
own figures. A missing feature raises Unable with the reason; a missing figure is None."""
import contextlib
import json
import os
import subprocess

import duts
from duts import Unable  # noqa: F401
from lab import forwarder_of
from softreset_policies import BIRD_PATHS, node
from .plan import LOCAL_PREF, THIRD, V4, V6

BATCH = 500
BIRD_PATHS[THIRD] = "(bgp_path.last >= 10 && bgp_path.last - (bgp_path.last / 100) * 100 <= 32)"


class Router:
    """keelbench's additions to a daemon of duts.py."""
    forwards, kernel_forwards, flips = False, False, True
    watched = ()  # addresses moved by a flip, checked by settled()

    def __init__(self, lab, plan, **options):
        super().__init__(lab, "rt", **options)
        self.plan, self.state = plan, 0

    @staticmethod
    def policy(name, state):
        """The policy from-a or from-b. With state 1 a third of the table is preferred through B."""
        nodes = [node(20, "permit", local_pref=LOCAL_PREF[name])]
        if name == "a" or not state:
            return duts.policy("from-" + name, nodes)
        nodes.insert(0, node(10, "permit", {"as_path_list": "third"}, local_pref=LOCAL_PREF["moved"]))
        return duts.policy("from-" + name, nodes, as_path_lists=[{"name": "third", "entries": [{"action": "permit", "regex": THIRD}]}])

    def peers_now(self):
        """The peers in the form of duts.py."""
        imports = {None: None, "all": duts.EVERYTHING, **{"from-" + n: self.policy(n, self.state) for n in "ab"}}
        return [duts.Peer(p.address, p.asn, imports[p.imports], duts.EVERYTHING if p.exports else None, p.keep, (p.family,)) for p in self.plan.peers()]

    def begin(self):
        if not self.forwards or self.kernel_forwards:
            self.host_addresses()
        self.start(self.peers_now())

    def host_addresses(self):
        """Sets the addresses of the links, if the daemon sets none."""
        for x in self.plan.links:
            for a in [x.router[V4] + "/24"] + ([x.router[V6] + "/64 nodad"] if self.plan.ipv6 else []):
                self.lab.sh(self.host, "ip address add %s dev %s" % (a, x.name))

    def flip(self, state):
        self.state = state
        self.prepare(self.peers_now())
        self.apply()

    def signal(self, number):
        for pid in self.pids():
            os.kill(pid, number)

    def loaded(self, counts):
        """True if the RIB has the table of each feed, {(name, family): routes}. None: unknown, or expensive to find out."""

    def settled(self):
        """True if packets see the whole last flip. None: unknown."""

    def audit(self):
        """Number of differences between RIB and forwarding tables. None: unknown."""

    def counters(self):
        """{place: packets}: lost packets by place. Cumulative."""
        out = {}
        for x in self.plan.links:
            for k, v in interface_losses(self.process.popen.pid, x.name).items():
                out["router port %s %s" % (x.name, k)] = v
        return out

    def figures(self):
        """{name: (unit, value)} from inside since the last reset()."""
        return {}

    def reset(self):
        """Clears the histograms."""


def interface_losses(pid, dev):
    """{counter: packets} of an interface in the namespace of a process, without zeros. Does not enter the namespace: entering waits for work on
    every CPU, for long on a worker's CPU."""
    with open("/proc/%d/net/dev" % pid) as f:
        fields = next((line.split(":", 1)[1].split() for line in f if line.strip().startswith(dev + ":")), None)
    names = {2: "rx_errors", 3: "rx_dropped", 4: "rx_fifo", 10: "tx_errors", 11: "tx_dropped", 12: "tx_fifo", 14: "tx_carrier"}
    return {name: int(fields[i]) for i, name in names.items() if fields and int(fields[i])}


class Keel(Router, duts.Keel):
    """`worker`: CPU of the worker; None: no data plane. `lab_ports` (tests/lab/lab_ports.py): packets come from memory and return to memory; the
    links carry the sessions."""
    forwards = True

    def __init__(self, lab, plan, worker=None, control=None, memory_mb=1024, lab_ports=None):
        self.lab_ports = lab_ports
        self.dataplane, self.jobs, self.left = worker is not None, [], []
        options = {}
        if self.dataplane:
            ports = [{"name": x.name, "device": lab_ports.device(i) if lab_ports else "net_af_xdp_%s,iface=%s" % (x.name, x.name),
                      "addresses": [x.router[V4] + "/24"] + ([x.router[V6] + "/64"] if plan.ipv6 else [])} for i, x in enumerate(plan.links)]
            dataplane = {"worker_cpus": [worker], "control_cpus": control, "memory_mb": memory_mb}
            if lab_ports:
                dataplane["eal_args"] = lab_ports.eal_args()
            options = {"args": (), "cpus": sorted({*control, worker}),
                       "document": {"dataplane": dataplane, "ports": ports}}
        super().__init__(lab, plan, **options)

    def begin(self):
        if not self.dataplane:
            self.host_addresses()
        with self.lab_ports.environment() if self.lab_ports else contextlib.nullcontext():
            self.start(self.peers_now())
        self.both = [self.process.popen.pid] + ([forwarder_of(self.rpc)] if self.dataplane else [])

    def signal(self, number):
        for pid in self.both:
            os.kill(pid, number)

    def cpu_seconds(self):
        """CPU time of keeld and keelfwd without the workers, which spin."""
        total = 0
        for folder in ("/proc/%d/task" % pid for pid in self.both):
            for task in os.listdir(folder):
                with open("%s/%s/comm" % (folder, task)) as name, open("%s/%s/schedstat" % (folder, task)) as used:
                    total += 0 if "worker" in name.read() else int(used.read().split()[0])
        return total / 1e9

    def neighbours(self):
        return {p["address"]: p for p in self.rpc.call("bgp.peers")["peers"]}

    def loaded(self, counts):
        peers = self.neighbours()
        return all(sum(f["accepted"] for f in peers[self.plan.feeds[k].address]["families"].values()) == n for k, n in counts.items())

    def apply(self):
        super().apply()
        self.jobs = [e["job"] for e in self.effects if e.get("job")]

    def flip(self, state):
        super().flip(state)
        self.left = list(self.watched)

    def settled(self):
        """Jobs are done, and the tables lead each watched address the new way. (The audit would wait for the churn, too.)"""
        if any(self.rpc.call("jobs.get", id=j)["state"] == "running" for j in self.jobs):
            return False
        way = "upb" if self.state else "upa"
        while self.left:
            some = self.left[-BATCH:]
            if not all(r["paths"] and r["paths"][0]["port"] == way for r in self.lookups(some)):
                return False
            del self.left[-BATCH:]
        return True

    def lookups(self, addresses):
        """Looks up all addresses in one batch."""
        self.rpc.file.write(json.dumps([{"jsonrpc": "2.0", "id": i, "method": "fib.lookup", "params": {"address": a}}
                                        for i, a in enumerate(addresses)]).encode() + b"\n")
        self.rpc.file.flush()
        return [answer["result"] for answer in json.loads(self.rpc.file.readline())]

    def audit(self):
        return self.rpc.call("fib.audit", limit=20)["mismatch_count"] if self.dataplane else None

    def counters(self):
        if not self.dataplane:
            return {}
        s, out = self.rpc.call("dataplane.stats"), {}
        for p in s["ports"]:
            for k, v in p.items():
                if k not in ("name", "rx_packets", "tx_packets", "rx_bytes", "tx_bytes") and isinstance(v, int) and v:
                    out["router port %s %s" % (p["name"], k)] = v
        for w in s["workers"]:
            for reason, v in w["drops"].items():
                if v:
                    out["router drops: " + reason] = v
        return out

    def figures(self):
        if not self.dataplane:
            return {}
        gap, stats = self.rpc.call("dataplane.stats")["workers"][0]["loop_gap_ns"], self.rpc.call("fib.stats")
        out = {"loop_gap_" + k: ("us", gap[k] / 1e3) for k in ("p99", "p999", "max")}
        for key in ("update_to_fib_ns", "commit_ns", "grace_ns"):
            if stats[key]["count"]:
                out.update({"%s_%s" % (key[:-3], k): ("ms", stats[key][k] / 1e6) for k in ("p50", "p99", "max")})
        return out

    def reset(self):
        if self.dataplane:
            self.rpc.call("dataplane.stats.reset")


class Bird(Router, duts.BirdDut):
    """BIRD forwards by the kernel, so it exports its routes into the kernel's table."""
    forwards = kernel_forwards = True

    def config(self):
        kernel = ["protocol kernel { %s { import none; export where source = RTS_BGP; }; }" % f.split("-")[0] for f in self.plan.families]
        return super().config().replace("local %s as" % duts.RT, "local as") + "\n".join(kernel) + "\n"

    def loaded(self, counts):
        index = {p.address: i for i, p in enumerate(self.peers)}
        for key, n in counts.items():
            words = self.d.birdc("show", "protocols", "all", "p%d" % index[self.plan.feeds[key].address]).split("Routes:")
            if len(words) < 2 or int(words[1].split()[0]) < n:
                return False
        return True


class FrrWithZebra(duts.Frr):
    def spawn(self, command, suffix=""):
        """Without -n, so that bgpd passes its routes to zebra, and zebra to the kernel."""
        return super().spawn([w for w in command if w != "-n"], suffix)


class Frr(Router, duts.FrrDut):
    daemon = FrrWithZebra
    forwards = kernel_forwards = True

    def loaded(self, counts):
        seen = {}
        for f in self.plan.families:
            seen.update(json.loads(self.d.vty("show bgp %s unicast summary json" % f.split("-")[0])).get("peers", {}))
        return all(seen.get(self.plan.feeds[k].address, {}).get("pfxRcd", 0) >= n for k, n in counts.items())


class GoBgp(Router, duts.GoBgpDut):
    """Without zebra GoBGP forwards no packets."""


class OpenBgpd(Router, duts.OpenBgpdDut):
    """OpenBGPD's Linux port cannot write the kernel's table, so OpenBGPD forwards no packets."""
    flips = False


class Wire:
    """A box operated by another party. The operator's command is the only interface."""
    forwards, kernel_forwards, watched = True, False, ()

    def __init__(self, lab, plan, flip=None, label=None):
        self.command, self.flips, self.name, self.state = flip, bool(flip), label or "wire", 0

    def nothing(self, *_):
        """Figures and actions that need access to the box: unknown, or without effect."""
    begin = stop = loaded = settled = audit = cpu_seconds = resident_bytes = must_run = reset = nothing

    @staticmethod
    def version():
        return "as its operator configured it"

    @staticmethod
    def counters():
        return {}

    figures = counters

    def flip(self, state):
        self.state = state
        p = subprocess.run("%s %d" % (self.command, state), shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode != 0:
            raise RuntimeError("--flip: %s %d: exit %d: %s" % (self.command, state, p.returncode, p.stdout.strip()))


ADAPTERS = {a.name: a for a in (Keel, Bird, Frr, GoBgp, OpenBgpd)}
