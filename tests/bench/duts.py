# SPDX-License-Identifier: BSD-3-Clause
"""The devices under test of the benchmarks behind a common interface: Keel, and BIRD, FRR, GoBGP, OpenBGPD of tests/interop/daemons.py with their
own configurations.

  dut = CLASS(lab, host)           in an existing namespace
  dut.start(peers)                 waits until the daemon runs
  dut.prepare(peers), dut.apply()  the same peers with other policies: preparation, and the change itself
  dut.cpu_seconds(), dut.resident_bytes()   of all its processes
  dut.stop()

A peer's policies are Keel documents (translated by softreset_policies.py); None: no route passes in this direction. Features that a daemon lacks
raise Unable, or are left out and listed in `dut.lacks`.
"""
import collections
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import KEELD, ROOT, TICKS, V4  # noqa: E402
import softreset_policies as policies  # noqa: E402
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from daemons import Bird, Frr, GoBgp, OpenBgpd, short  # noqa: E402

# 64512 is the origin of two prefixes of the real table, which would be AS loops
US, RT = 64999, "198.18.0.1"
SECTIONS = ("prefix_lists", "as_path_lists", "community_lists", "route_policies")


def policy(name, nodes, **lists):
    return dict({k: lists.get(k, []) for k in SECTIONS}, route_policies=[{"name": name, "nodes": nodes}])


EVERYTHING = policy("everything", [{"seq": 10, "action": "permit", "match": {}}])

# All peers connect to the daemon. `keep`: the daemon keeps the peer's routes, so that a policy change needs no refresh. `client`: of the reflector.
Peer = collections.namedtuple("Peer", "address asn imports exports keep families client", defaults=(None, None, False, (V4,), False))
VPN4 = "vpnv4-unicast"


class Unable(Exception):
    """A feature that a daemon lacks, or a lack of time."""


def name_of(document):
    return document["route_policies"][0]["name"]


def documents(peers):
    """All policies of the peers except EVERYTHING: {name: document}."""
    out = {}
    for p in peers:
        for d in (p.imports, p.exports):
            if d is not None and d != EVERYTHING and out.setdefault(name_of(d), d) != d:
                raise ValueError("two policies with the name " + name_of(d))
    return out


def tree(pid):
    """The process and all descendants."""
    out, left = [], [pid]
    while left:
        pid = left.pop()
        out.append(pid)
        try:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                left += [int(x) for x in f.read().split()]
        except FileNotFoundError:
            pass
    return out


def process_seconds(pid):
    """CPU seconds of all threads except Keel's polling workers, in nanoseconds where the kernel provides them."""
    folder = "/proc/%d/task" % pid
    try:
        total = 0
        for task in os.listdir(folder):
            with open("%s/%s/comm" % (folder, task)) as name, open("%s/%s/schedstat" % (folder, task)) as f:
                if "worker" not in name.read():
                    total += int(f.read().split()[0])
        return total / 1e9
    except (FileNotFoundError, ProcessLookupError):
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Dut:
    lacks = frozenset()
    keeps_always = False  # keeps all received routes, whether configured or not
    asks_refresh = True  # after a policy change without kept routes

    def __init__(self, lab, host="rt"):
        self.lab, self.host, self.process = lab, host, None

    def processes(self):
        return [self.process]

    def pids(self):
        return [pid for p in self.processes() for pid in tree(p.popen.pid)]

    def cpu_seconds(self):
        return sum(map(process_seconds, self.pids()))

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            with open("/proc/%d/statm" % pid) as f:
                total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def must_run(self):
        for p in self.processes():
            p.must_run()

    def stop(self):
        self.process.stop(60)


class Keel(Dut):
    """`document`: more of the configuration than router, policies and peers."""
    name = "keel"

    def __init__(self, lab, host="rt", args=("--no-dataplane",), document=None, cpus=None):
        super().__init__(lab, host)
        self.args, self.document, self.cpus, self.strains = args, document or {}, cpus, None

    @classmethod
    def version(cls):
        if not os.path.exists(os.path.join(ROOT, ".git")):  # installed
            return subprocess.run([KEELD, "--version"], capture_output=True, text=True).stdout.split()[-1]
        return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    @staticmethod
    def word(document):
        return "deny-all" if document is None else "accept-all" if document == EVERYTHING else name_of(document)

    def sections(self, peers):
        """Parts of the document for these peers."""
        named = {k: {} for k in SECTIONS}
        for d in documents(peers).values():
            for k in SECTIONS:
                for x in d[k]:
                    if named[k].setdefault(x["name"], x) != x:
                        raise ValueError("two of %s with the name %s" % (k, x["name"]))
        out = {k: list(v.values()) for k, v in named.items()}
        out["bgp"] = dict(self.document.get("bgp", {}), peers=[{"address": p.address, "asn": p.asn, "passive": True, "enforce_first_as": False,
                                                         "route_reflector_client": p.client, "families": {
            f: {"import_policy": self.word(p.imports), "export_policy": self.word(p.exports), "keep_all_routes": p.keep} for f in p.families}} for p in peers])
        return out

    def start(self, peers):
        config = dict({"router": {"asn": US, "router_id": RT}}, **self.document)
        config.update(self.sections(peers))
        strained = self.strains.options() if self.strains else {}
        self.process, self.rpc = self.lab.keeld(self.host, config, KEELD, args=self.args, cpus=self.cpus, idle="spin", **strained)
        if self.strains:
            self.strains.begin(self)

    def cpu_seconds(self):
        """Of keelfwd, too."""
        forwarder = self.rpc.call("system.info")["forwarder"]
        return super().cpu_seconds() + (process_seconds(forwarder["pid"]) if forwarder else 0)

    def prepare(self, peers):
        self.rpc.call("config.edit", merge=self.sections(peers))

    def apply(self):
        answer = self.rpc.call("config.commit")
        self.effects, self.persisted = answer["effects"], answer["persisted"]

    def stop(self):
        self.rpc.close()
        super().stop()


class Foreign(Dut):
    """A daemon of tests/interop/daemons.py: start and stop."""
    daemon = file = None

    @classmethod
    def version(cls):
        return cls.daemon.version()

    def start(self, peers):
        self.peers, self.lacks = list(peers), set()
        outer = self

        class Configured(self.daemon):
            def config(self):
                return outer.config()

            def own_after_start(self):
                pass
        self.d = Configured(self.lab, self.host)
        self.d.run(False)
        self.process = self.d.process

    def say(self, translation):
        if translation is None:
            raise Unable("this policy")
        self.lacks |= translation.lacks
        return translation.text

    def prepare(self, peers):
        self.peers = list(peers)
        self.d.file(self.file, self.config())

    def stop(self):
        self.d.stop()


class BirdDut(Foreign):
    name, daemon, file = "bird", Bird, "bird.conf"

    def config(self):
        out = ["log stderr all;", "router id %s;" % RT, "protocol device { }"]
        filters = {None: "none", "everything": "all"}
        for name, document in documents(self.peers).items():
            filters[name] = "filter f_" + name.replace("-", "_")
            out.append(self.say(policies.bird("f_" + name.replace("-", "_"), document)))
        for i, p in enumerate(self.peers):
            channels = " ".join("%s { %s import %s; export %s; };" % (short(f), "import table on;" if p.keep else "", *(
                filters[d and name_of(d)] for d in (p.imports, p.exports))) for f in p.families)
            out.append("protocol bgp p%d { local %s as %d; neighbor %s as %d; passive; %s }" % (i, RT, US, p.address, p.asn, channels))
        return "\n".join(out) + "\n"

    def apply(self):
        self.d.birdc("configure")


class FrrDut(Foreign):
    """A policy change sets another name in the neighbour's line; the named route-map exists beforehand. In FRR 8.4 the time of a prefix list is
    quadratic: 5,000 lines take 3 minutes of CPU in an empty bgpd, more than 8 with a full table. Its zebra is counted too: without routes from
    bgpd (-n) zebra is idle."""
    LINES_MAX = 1000
    name, daemon = "frr", Frr
    said = None

    def start(self, peers):
        self.said, self.serial, self.maps, self.named, self.keeps = set(), 0, {}, {}, set()
        super().start(peers)

    def processes(self):
        return [self.process, self.d.zebra]

    def map_lines(self, peers):
        """New lines for lists and route-maps; afterwards `named` has the route-map of (address, direction)."""
        lines, maps = [], {"everything": None, None: "nothing"}
        for name, document in documents(peers).items():
            lists = policies.frr_lists(document)
            if max((len(said) for said in lists.values()), default=0) > self.LINES_MAX:
                raise Unable("a prefix list of more than %d lines, within minutes" % self.LINES_MAX)
            key = json.dumps(document)
            for list_name, said in lists.items():
                if list_name not in self.said:
                    self.said.add(list_name)
                    lines += said
            if key not in self.maps:
                self.serial += 1
                self.maps[key] = "p%d" % self.serial
                lines += policies.frr_route_map(self.maps[key], document)
            maps[name] = self.maps[key]
        self.wanted = {(p.address, way): maps[d and name_of(d)] for p in peers for way, d in (("in", p.imports), ("out", p.exports))}
        return lines

    def config(self):
        out = ["log stdout", "bgp route-map delay-timer 0", "route-map nothing deny 10", "exit"] + self.map_lines(self.peers)
        # otherwise updates to new sessions wait 50 ms for each configured peer, up to 10 s
        out += ["router bgp %d" % US, " bgp router-id %s" % RT, " coalesce-time 1000", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast"]
        for p in self.peers:
            out += [" neighbor %s remote-as %d" % (p.address, p.asn), " neighbor %s passive" % p.address]
        for f in sorted({f for p in self.peers for f in p.families}):
            out.append(" address-family ipv4 vpn" if f == VPN4 else " address-family %s unicast" % short(f))
            for p in (p for p in self.peers if f in p.families):
                n = "  neighbor %s " % p.address
                out += [n + "activate"] + ([n + "soft-reconfiguration inbound"] if p.keep else []) + ([n + "route-reflector-client"] if p.client else [])
                out += [n + "route-map %s %s" % (self.wanted[p.address, way], way) for way in ("in", "out") if self.wanted[p.address, way]]
            out.append(" exit-address-family")
        self.named, self.keeps = dict(self.wanted), {p.address for p in self.peers if p.keep}
        return "\n".join(out) + "\n"

    def prepare(self, peers):
        self.peers = list(peers)
        lines = self.map_lines(peers)
        if lines:
            self.d.vty("configure terminal", *lines, "end")

    def apply(self):
        for p in self.peers:
            lines = []
            if p.keep != (p.address in self.keeps):
                lines.append(("" if p.keep else "no ") + "neighbor %s soft-reconfiguration inbound" % p.address)
            for way in ("in", "out"):
                new, old = self.wanted[p.address, way], self.named.get((p.address, way))
                if new != old:
                    lines.append("neighbor %s route-map %s %s" % (p.address, new, way) if new else "no neighbor %s route-map %s %s" % (p.address, old, way))
            for f in p.families if lines else ():
                self.d.vty("configure terminal", "router bgp %d" % US, "address-family %s unicast" % short(f), *lines, "end")
        self.named, self.keeps = dict(self.wanted), {p.address for p in self.peers if p.keep}

    def stop(self):
        self.d.stop()
        self.d.zebra.stop()


class GoBgpDut(Foreign):
    name, daemon, file = "gobgp", GoBgp, "gobgp.toml"
    keeps_always, asks_refresh = True, False

    def direction(self, way):
        """(names for the list of policies, their definitions): each policy with its neighbours; routes accepted by no policy are rejected."""
        names, out = [], []
        given = [(p.address, getattr(p, way)) for p in self.peers]
        for name, document in dict(documents(self.peers), everything=EVERYTHING).items():
            mine = [a for a, d in given if d == document]
            if not mine:
                continue
            names.append("%s-%s" % (way, name))
            all_of_them = len(mine) == len(given)
            if not all_of_them:
                out += ["[[defined-sets.neighbor-sets]]", 'neighbor-set-name = "%s"' % names[-1], "neighbor-info-list = " + policies.quoted(mine)]
            out.append(self.say(policies.gobgp(names[-1], document, None if all_of_them else names[-1])))
        return names, out

    def config(self):
        (imports, defined), (exports, more) = self.direction("imports"), self.direction("exports")
        out = ["[global.config]", "as = %d" % US, 'router-id = "%s"' % RT, "[global.apply-policy.config]", "import-policy-list = " + policies.quoted(imports),
               "export-policy-list = " + policies.quoted(exports), 'default-import-policy = "reject-route"', 'default-export-policy = "reject-route"']
        for p in self.peers:
            out += ["[[neighbors]]", "[neighbors.config]", 'neighbor-address = "%s"' % p.address, "peer-as = %d" % p.asn, "[neighbors.transport.config]",
                    "passive-mode = true"]
            if p.client:
                out += ["[neighbors.route-reflector.config]", "route-reflector-client = true", 'route-reflector-cluster-id = "%s"' % RT]
            for f in p.families:
                out += ["[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", 'afi-safi-name = "%s"' % ("l3vpn-ipv4-unicast" if f == VPN4 else f)]
        return "\n".join(out + defined + more) + "\n"

    def apply(self):
        os.kill(self.process.popen.pid, signal.SIGHUP)


class OpenBgpdDut(Foreign):
    name, daemon, file = "openbgpd", OpenBgpd, "bgpd.conf"
    keeps_always, asks_refresh = True, False

    def groups(self):
        """Peers grouped by equal policies: {name: peers}."""
        out = {}
        for p in self.peers:
            out.setdefault("-".join("nothing" if d is None else name_of(d) for d in (p.imports, p.exports)), []).append(p)
        return out

    def config(self):
        out = ["AS %d" % US, "router-id %s" % RT, 'socket "%s"' % os.path.join(self.lab.dir, self.host, "bgpd.sock"), "fib-update no", "nexthop qualify via default",
               "listen on %s" % RT]
        for name, peers in self.groups().items():
            out.append('group "%s" {' % name)
            for p in peers:
                out += ["neighbor %s {" % p.address, "\tremote-as %d" % p.asn, "\tpassive", "\tenforce neighbor-as no", "\treject as-set no",
                        *("\tannounce IPv4 vpn" if f == VPN4 else "\tannounce %s unicast" % {"ipv4": "IPv4", "ipv6": "IPv6"}[short(f)] for f in p.families),
                        *(["\troute-reflector"] if p.client else []), *(["\texport none"] if p.exports is None else []), "}"]
            out.append("}")
        for name, peers in self.groups().items():
            for way, document in (("from", peers[0].imports), ("to", peers[0].exports)):
                if document is not None:
                    out.append(self.say(policies.openbgpd('%s group "%s"' % (way, name), document)))
        return "\n".join(out) + "\n"

    def prepare(self, peers):
        super().prepare(peers)
        os.chmod(os.path.join(self.d.folder, self.file), 0o600)

    def apply(self):
        self.d.bgpctl("reload")


ALL = [Keel, BirdDut, OpenBgpdDut, FrrDut, GoBgpDut]
