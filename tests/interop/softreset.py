# SPDX-License-Identifier: BSD-3-Clause
"""Environment of the tests of soft reset (keel-policy(7)): keeld with ports and traffic between foreign daemons, with and without route refresh.

    src (sends) --- rt (keeld, AS 64512) --- a  BIRD, AS 64601, group `transit`     route refresh, enhanced
                                         \\-- b  BIRD, AS 64602, group `transit`     neither
                                         \\-- f  FRR, AS 64603, a session per family route refresh, enhanced
                                         \\-- g  FRR, AS 64604, no capability at all: IPv4 only
                                         \\-- i  BIRD, AS 64512 (internal), a session per family, route refresh

a and b announce the same prefixes, and packets to these prefixes arrive at a or b: import policies move half of the prefixes. Both families of
a and of b share one IPv4 session. f, g and i announce their own prefixes.
"""
import ctypes
import json
import os
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from daemons import Bird, Frr, Session, Setup
from labtest import KEELCTL, KEELD, NOTIFICATION, ROUTE_REFRESH, UPDATE, V4, V6, Capture, Lab, commit, error_of, need, out_folder, peer, wait_for, wait_job  # noqa: F401
from lab import at_rest, cpus_of_lab

PROBE, FEED = (os.path.join(labtest.BUILD, "tests", "bench", n) for n in ("probe", "feed"))
US = 64512
NET = {"src": 0, "a": 1, "b": 2, "f": 3, "g": 4, "i": 5}
ASN = {"a": 64601, "b": 64602, "f": 64603, "g": 64604, "i": US}
COUNT = 16  # prefixes of each family of a and b; the other daemons announce four
A, B = 1, 2  # bits of the probe's ports


def at(host, family=V4):
    return ("198.18.%d.2" if family == V4 else "2001:db8:%d::2") % NET[host]


def ours(host, family=V4):
    return ("198.18.%d.1" if family == V4 else "2001:db8:%d::1") % NET[host]


def prefix(group, n, family):
    return ("10.%d.%d.0/24" if family == V4 else "2001:db8:%d%02d::/48") % (group, n)


SHARED = {f: [prefix(1, n, f) for n in range(COUNT)] for f in (V4, V6)}
HALF = {f: SHARED[f][::2] for f in SHARED}
OWN = {h: {f: [prefix(NET[h], n, f) for n in range(4)] for f in ((V4,) if h == "g" else (V4, V6))} for h in "fgi"}
FENCE = {V4: "203.0.113.0/24", V6: "2001:db8:ffff::/48"}  # of keeld
SPARE = {V4: "10.9.9.0/24", V6: "2001:db8:909::/48"}  # of f: not announced at the start
# (address of the session, family): all peers and families of keeld. f's IPv4 session is configured with IPv6 at keeld, but not at f.
SESSIONS = {"a": at("a"), "b": at("b"), "f": at("f"), "f6": at("f", V6), "g": at("g"), "i": at("i"), "i6": at("i", V6)}


class WithoutRefresh(Bird):
    def config(self):
        return super().config().replace("hold time 90;", "hold time 90; enable route refresh off;")


class WithoutCapabilities(Frr):
    def config(self):
        return re.sub(r"( neighbor \S+ )(remote-as \d+)", r"\1\2\n\1dont-capability-negotiate", super().config())


KIND = {"a": Bird, "b": WithoutRefresh, "f": Frr, "g": WithoutCapabilities, "i": Bird}


def permit(seq, match=None, **values):
    return {"seq": seq, "action": "permit", "match": match or {}, **({"set": values} if values else {})}


def deny(seq, match):
    return {"seq": seq, "action": "deny", "match": match}


POLICIES = ("from-a", "from-b", "from-f", "from-g", "from-i", "to-transit", "to-f", "to-g", "to-i")
LISTS = ("half", "nothing")
HALF_OF = {"prefix_list": "half"}


def node(policy, value, n=0):
    """The edit that inserts a node before node n."""
    return {"op": "add", "path": "/route_policies/%d/nodes/%d" % (POLICIES.index(policy), n), "value": value}


def without_node(policy, n=0):
    return {"op": "remove", "path": "/route_policies/%d/nodes/%d" % (POLICIES.index(policy), n)}


PREFER_B = node("from-b", permit(5, HALF_OF, local_pref=200))  # half of the traffic moves to b
REFUSE_B = node("from-b", deny(5, HALF_OF))


def config(worker, control, keep, hold_s):
    def families(both, imports, exports, **keys):
        return {f: {"import_policy": imports, "export_policy": exports, **keys} for f in both}

    def one(host, family, both):
        return {"address": at(host, family), "asn": ASN[host], "enforce_first_as": False, "families": families(both, "from-" + host, "to-" + host)}

    timers = {"hold_s": hold_s}
    passive = {"passive": True}  # after a collision FRR 8.4 may close both connections
    # FRR 8.4 without capabilities expects an AGGREGATOR of 8 octets from a peer that announces the capability, although FRR did not
    plain = dict(one("g", V4, (V4,)), capabilities={"four_octet_as": False})
    preference = {"from-a": 100, "from-b": 90}
    nodes = {p: [permit(10, local_pref=preference[p]) if p in preference else permit(10)] for p in POLICIES}
    nodes["to-transit"] = [permit(10, {"prefix_list": "others"})]
    lists = {"half": HALF[V4] + HALF[V6], "nothing": ["192.0.2.0/24", "2001:db8:dead::/48"],
             "others": [p for h in OWN for f in OWN[h] for p in OWN[h][f]] + [*SPARE.values(), *FENCE.values()]}
    return {
        "router": {"asn": US, "router_id": "198.18.0.1"},
        "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
        "ports": [{"name": "p" + h, "device": "net_af_xdp_%s,iface=p%s" % (h, h), "addresses": [ours(h) + "/24", ours(h, V6) + "/64"]} for h in NET],
        "prefix_lists": [{"name": n, "entries": [{"action": "permit", "prefix": p} for p in lists[n]]} for n in lists],
        "route_policies": [{"name": p, "nodes": nodes[p]} for p in POLICIES],
        "bgp": {
            "networks": [],
            "groups": [{"name": "transit", "families": families((V4, V6), "from-a", "to-transit", keep_all_routes=keep)}],
            "peers": [dict(p, timers=timers) for p in (
                      {"address": at("a"), "asn": ASN["a"], "enforce_first_as": False, "group": "transit"},
                      {"address": at("b"), "asn": ASN["b"], "enforce_first_as": False, "group": "transit", "families": {f: {"import_policy": "from-b"} for f in (V4, V6)}},
                      one("f", V4, (V4, V6)) | passive, one("f", V6, (V6,)) | passive, plain | passive, one("i", V4, (V4,)), one("i", V6, (V6,)))]},
    }


class World:
    """keeld, the daemons, the probe, and queries shared by all tests."""

    def __init__(self, checks, lab, out):
        self.c, self.lab, self.out = checks, lab, out
        self.daemons, self.captures = {}, 0

    # ---- building ----

    def build(self, keep, hold_s):
        lab = self.lab
        worker, others = cpus_of_lab()
        for h in ("rt", *NET):
            lab.host(h, ipv6=True)
        for h in NET:
            lab.link(h, "e0", [at(h) + "/24", at(h, V6) + "/64"], "rt", "p" + h, None)
        # small buffers, so that a walk to a peer that does not read cannot end
        lab.sh("rt", "sysctl -qw net.ipv4.tcp_wmem='4096 16384 32768'")
        lab.sh("f", "sysctl -qw net.ipv4.tcp_rmem='4096 16384 32768'")
        lab.sh("src", "ip route add default via %s; ip -6 route add default via %s" % (ours("src"), ours("src", V6)))
        for h in ASN:
            self.start_daemon(h)
        self.keeld, self.rpc = lab.keeld("rt", config(worker, others, keep, hold_s), KEELD, cpus=others + [worker])
        self.sock = os.path.join(lab.dir, "keeld.sock")
        self.wait_up()
        self.wait_whole()
        self.start_traffic()
        self.fib_fence()

    def setup_of(self, host):
        if host in "ab":
            sessions = [Session("keel", at(host), ours(host), US, (V4, V6))]
            own = {p: None for f in SHARED for p in SHARED[f]}
            return Setup(ASN[host], at(host), sessions, own)
        sessions = [Session("keel" + f[3], at(host, f), ours(host, f), US, (f,)) for f in OWN[host]]
        own = {p: None for f in OWN[host] for p in OWN[host][f]}
        spare = {p: None for p in SPARE.values()} if host == "f" else {}
        return Setup(ASN[host], at(host), sessions, {**own, **spare}, set(own))

    def start_daemon(self, host):
        self.daemons[host] = KIND[host](self.lab, host).start(self.setup_of(host))

    def start_traffic(self):
        lines = []
        for f, form in ((V4, "%s.7"), (V6, "%s:7")):
            for n, p in enumerate(SHARED[f]):
                base = p.split("/")[0]
                lines.append("%s %d\n" % ((base[:-1] + "7") if f == V4 else base + "7", n % 2))
        self.probe = self.lab.spawn("probe", None, [
            PROBE, "--from", self.lab.netns("src"), "--to", self.lab.netns("a") + ":e0", "--to", self.lab.netns("b") + ":e0",
            "--destinations", self.lab.write("destinations", "".join(lines)), "--pps", "2000", *labtest.SELF_CLOCKED,
            "--out", self.out], lines=True)
        self.machine = labtest.Machine(self.lab, self.probe.popen.pid)
        self.masks(A, A)

    def wait_up(self):
        labtest.wait_established(self.rpc, *SESSIONS.values())

    def wait_whole(self, best="a"):
        """Waits until the routes of all peers are accepted, and the shared ones are forwarded to `best`."""
        for name, address in SESSIONS.items():
            for f, v in self.peer(name)["families"].items():
                want = COUNT if name in "ab" else 4
                if v["negotiated"]:
                    wait_for("%d %s routes of %s" % (want, f, name), lambda: self.peer(name)["families"][f]["accepted"] == want, 30)
        for f in SHARED:
            self.moved_to(best, f, SHARED[f])

    # ---- keeld ----

    @staticmethod
    def session_of(host, family):
        return host if host in "ab" or family == V4 else host + "6"

    @staticmethod
    def families(host):
        return (V4, V6) if host in "ab" else tuple(OWN[host])

    @staticmethod
    def but(prefixes, *groups):
        """The prefixes without those of `groups`, such as fences."""
        return [p for p in prefixes if not any(p in g.values() for g in groups)]

    def peer(self, name):
        return peer(self.rpc, SESSIONS[name])

    def family(self, name, family=V4):
        return self.peer(name)["families"][family]

    def ctl(self, *words):
        """(exit status, last JSON value printed by keelctl, or its text on stderr)."""
        p = subprocess.run([KEELCTL, "--socket", self.sock, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        values, text, reader = [], p.stdout.strip(), json.JSONDecoder()
        while text:
            value, end = reader.raw_decode(text)
            values, text = values + [value], text[end:].lstrip()
        return p.returncode, values[-1] if values else p.stderr.strip()

    def refresh(self, direction, scope, family=V4, by="rpc", **who):
        """{name of the session: (action, reason)} of a refresh by RPC or keelctl, after the end of its job."""
        if by == "rpc":
            r = self.rpc.call("bgp.refresh", family=family, scope=scope, direction=direction, **who)
        else:
            chosen = {"peer": [who.get("peer")], "group": ["group", who.get("group")]}.get(scope, [scope])
            _, r = self.ctl("refresh", "bgp", *(["ipv6"] if family == V6 else []), *chosen, direction)
        if r["job"] is not None:
            self.c.equal("its job ends well", wait_job(self.rpc, r["job"])["state"], "done")
        names = {a: n for n, a in SESSIONS.items()}
        return {names[p["address"]]: (p["action"], p.get("reason")) for p in r["peers"]}

    def commit(self, *patch, wait=True):
        """{(session, family, direction): (effect, reason)}; the jobs' ends are waited for."""
        return self.effects(commit(self.rpc, list(patch)), wait)

    def edit(self, *lines):
        """As commit(), through keelctl's views: lines typed from the system view on; the commit may end sessions."""
        status, r = self.ctl("; ".join(("system-view", *lines, "commit force")))
        self.c.equal("keelctl '%s': exit status" % lines[-1], status, 0)
        return self.effects(r, True)

    def effects(self, r, wait):
        for e in r["effects"]:
            if wait and e.get("job"):
                wait_job(self.rpc, e["job"])
        names = {a: n for n, a in SESSIONS.items()}
        self.jobs = [e["job"] for e in r["effects"] if e.get("job")]
        return {(names[e["address"]], e["family"], e["direction"]): (e["effect"], e.get("reason")) for e in r["effects"]}

    def writes(self):
        return at_rest(lambda: sum(t["writes"] for t in self.rpc.call("fib.stats")["tables"]))

    def forwarded_to(self, p):
        """The host that the workers forward a prefix to."""
        paths = self.rpc.call("fib.lookup", address=p.split("/")[0])["paths"]
        return paths[0]["port"][1:] if paths and paths[0]["state"] == "up" else None

    def moved_to(self, host, family, which=None):
        wait_for("packets of %s to %s" % (family, host), lambda: all(self.forwarded_to(p) == host for p in which or HALF[family]), 20)

    # ---- sessions, at both ends ----

    def sessions(self):
        """State that no soft reset may change, from both ends."""
        here = {n: (p["state"], p["established_count"]) for n, p in ((n, self.peer(n)) for n in SESSIONS)}
        return here, {h: self.since(h) for h in self.daemons}

    def established(self):
        """{session: number of times established}; None for a session that is not up."""
        now = {n: self.peer(n) for n in SESSIONS}
        return {n: p["established_count"] if p["state"] == "established" else None for n, p in now.items()}

    def uptimes(self):
        return {n: self.peer(n)["uptime_s"] for n in SESSIONS}

    def since(self, host):
        """Start times of the daemon's sessions, in the daemon's own form."""
        d = self.daemons[host]
        if isinstance(d, Bird):
            return [Since(d.birdc("show", "protocols", s.name), s.name) for s in d.setup.sessions]
        seen = [json.loads(d.vty("show bgp neighbors %s json" % s.remote))[s.remote] for s in d.setup.sessions]
        return [(n["bgpState"], n.get("connectionsEstablished"), n.get("connectionsDropped")) for n in seen]

    def quiet(self):
        return Quiet(self)

    # ---- wire ----

    def capture(self):
        self.captures += 1
        return Wire(self, os.path.join(self.out, "%02d.pcap" % self.captures))

    def told(self, host, family):
        """{prefix: attributes} received by the daemon from us."""
        name = next(s.name for s in self.daemons[host].setup.sessions if family in s.families)
        return self.daemons[host].routes(name, family)

    def has(self, host, family, prefix):
        """True if the daemon has received the prefix; fast for any number of prefixes."""
        d = self.daemons[host]
        if isinstance(d, Frr):
            return "paths" in json.loads(d.vty("show bgp %s unicast %s json" % (family[:4], prefix)) or "{}")
        name = next(s.name for s in d.setup.sessions if family in s.families)
        return prefix in d.birdc("show", "route", "table", "master" + family[3], "where", "net = %s" % prefix, "protocol", name)

    def fence(self, *hosts):
        """Waits until keeld has sent all earlier changes: adds and removes a network, which is later in the journal."""
        add = [{"op": "add", "path": "/bgp/networks/0", "value": {"prefix": p}} for p in FENCE.values()]
        for patch, there in ((add, True), ([{"op": "remove", "path": "/bgp/networks/0"}] * 2, False)):
            commit(self.rpc, patch)
            for h in hosts:
                for f in self.families(h):
                    wait_for("fence at %s" % h, lambda: self.has(h, f, FENCE[f]) == there, 20)

    def fib_fence(self):
        """Waits until all earlier changes are in the FIB: f announces and withdraws a route. Returns the number of table writes for this route."""
        before = self.writes()
        for p in SPARE.values():
            self.daemons["f"].announce(p)
        for p in SPARE.values():
            wait_for(p + " in the FIB", lambda: self.forwarded_to(p) == "f", 20)
        for p in SPARE.values():
            self.daemons["f"].withdraw(p)
        for p in SPARE.values():
            wait_for(p + " out of the FIB", lambda: self.forwarded_to(p) is None, 20)
        return self.writes() - before

    # ---- traffic ----

    def masks(self, half, rest):
        """Sets for the probe where packets of the two classes may arrive from now on."""
        for c, mask in enumerate((half, rest)):
            self.say("mask %d %d" % (c, mask))

    def say(self, text):
        self.probe.say(text)
        answer = self.probe.line(30)
        if not answer or not answer.startswith("ok"):
            raise RuntimeError("probe: %s: %s" % (text, answer))

    def end(self):
        """Checks at the end: the counts of the traffic, the audit, and the exit of keeld."""
        self.probe.say("stop")
        self.probe.popen.wait(labtest.PATIENCE_S)
        with open(os.path.join(self.out, "probe.json")) as f:
            r = json.load(f)
        self.c.equal("traffic: no stall of the router", [s for s in self.machine.stop().stalls(r) if s[1]["phase"] != "link"], [])  # there routes have no replacement
        self.c.true("traffic: sent, and IPv6 too", r["sent"] > 5000 and r["sent_ipv6"] > 2000, r)
        self.c.equal("traffic: nothing lost, misdirected or reordered", (r["lost"], r["misdirected"], r["reordered"]), (0, 0, 0))
        self.c.equal("the workers' tables are what the RIB says", self.rpc.call("fib.audit", limit=10)["mismatches"], [])
        self.c.equal("SIGTERM: exit status 0", self.keeld.stop(), 0)


class Since:
    """State and time of a session in BIRD's output: the time comes from another clock, and varies by milliseconds."""

    def __init__(self, text, name):
        self.state, h, m, s = re.search(r"^%s\s+BGP\s+\S+\s+(\S+)\s+(\d+):(\d+):([\d.]+)" % name, text, re.M).groups()
        self.s = (int(h) * 60 + int(m)) * 60 + float(s)

    def __eq__(self, other):
        return self.state == other.state and abs(self.s - other.s) < 0.1

    def __repr__(self):
        return "%s since %.3f" % (self.state, self.s)


class Quiet:
    """In a `with`: no session changes, at either end, and uptimes grow (keel-policy(7) rule 10)."""

    def __init__(self, world):
        self.w = world

    def __enter__(self):
        self.sessions, self.uptimes = self.w.sessions(), self.w.uptimes()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.w.c.equal("no session changed, at either end", self.w.sessions(), self.sessions)
            now = self.w.uptimes()
            self.w.c.true("uptimes go on", all(now[n] >= self.uptimes[n] for n in now), (self.uptimes, now))


class Wire(Capture):
    """BGP on all ports of rt, with our messages to each host."""

    # classic BPF: TCP over IPv4 or IPv6 only; otherwise the probe's packets would fill the capture
    FILTER = ((0x28, 0, 0, 12), (0x15, 0, 2, 0x0800), (0x30, 0, 0, 23), (0x15, 3, 4, 6), (0x15, 0, 3, 0x86DD), (0x30, 0, 0, 20), (0x15, 0, 1, 6),
              (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0))

    def __init__(self, world, path):
        self.w = world
        super().__init__(world.lab.netns("rt"), None, path)

    def prepare(self, sock):
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in self.FILTER))
        sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(self.FILTER), ctypes.addressof(program)))  # SO_ATTACH_FILTER

    def stop(self):
        super().stop()
        self.all = [(s, int(m["bgp.type"]), m) for s, m in self.bgp()]
        return self

    def kinds(self, host):
        """[(type, subtype of ROUTE-REFRESH)] of our messages, without decoding: for many messages."""
        super().stop()
        p = subprocess.run(["tshark", "-r", self.path, "-d", "tcp.port==179,bgp", "-Y", "bgp and ip.src==" + ours(host), "-T", "fields", "-e", "bgp.type",
                            "-e", "bgp.route_refresh.subtype", "-E", "aggregator=,"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        out = []
        for line in p.stdout.splitlines():
            types, subtypes = (x.split(",") if x else [] for x in (line.split("\t") + [""])[:2])
            out += [(int(t), int(subtypes.pop(0)) if int(t) == ROUTE_REFRESH else None) for t in types]
        return out

    def of(self, host, kind):
        """Our messages to the host."""
        return [m for s, k, m in self.all if k == kind and s in (ours(host), ours(host, V6))]

    def requests(self, host):
        """[(family, subtype)] of ROUTE-REFRESH."""
        out = []
        for m in self.of(host, ROUTE_REFRESH):
            text = json.dumps(m)
            afi, subtype = (re.search(r'"bgp\.route_refresh\.%s": "(\d+)"' % k, text) for k in ("afi", "subtype"))
            out.append(({"1": V4, "2": V6}[afi.group(1)], int(subtype.group(1)) if subtype else 0))
        return out

    def told(self, host):
        """(announced, withdrawn) prefixes, in order."""
        come, gone = [], []
        for m in self.of(host, UPDATE):
            come += labtest.prefixes_of(m, "bgp.update.nlri") + labtest.mp_prefixes_of(m, "reach")
            gone += labtest.prefixes_of(m, "bgp.update.withdrawn_routes") + labtest.mp_prefixes_of(m, "unreach")
        return come, gone

    def asked(self, **expected):
        """Exactly these requests were sent to each host, and none to other hosts."""
        for host in ASN:
            self.w.c.equal("on the wire: requests to " + host, self.requests(host), expected.get(host, []))

    def silent(self, what, *hosts):
        """Checks that keeld has sent no request and no UPDATE to these hosts, except for the fence."""
        for h in hosts:
            come, gone = self.told(h)
            seen = self.requests(h), self.w.but(come + gone, FENCE)
            self.w.c.equal("%s: nothing to %s" % (what, h), seen, ([], []))


def main(name, numbers, keep=False, hold_s=90):
    """Runs the tests in a shared world; each test is named `number_N_...` and receives the world. `keep`: all routes of a and b are kept from the
    start."""
    def test(checks):
        out = out_folder(name)
        with Lab(out) as lab:
            w = World(checks, lab, out)
            w.build(keep, hold_s)
            for number in numbers:
                print("---- %s: %s" % (number.__name__, (number.__doc__ or "").split("\n")[0]), flush=True)
                number(w)
            w.end()

    need("bird", "birdc", "tshark", "ip", "ethtool", files=[KEELD, KEELCTL, PROBE])
    for program in Frr.programs:
        if not os.path.exists(program):
            labtest.skip(program + " is not installed")
    raise SystemExit(labtest.main(test))
